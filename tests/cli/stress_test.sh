#!/bin/sh
# The program stress_test: what it prints and writes, and how it refuses models and traces that are none. A build under
# AddressSanitizer is fed damaged files.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

train=build/train stress=build/stress_test

one_line() # status, words, command
{
    want=$1 words=$2
    shift 2
    check_status "$want" "$words" "$@" || return
    lines=$(printf '%s\n' "$output" | wc -l)
    case $output in
    *"$words"*) if [ "$lines" -eq 1 ]; then pass; else fail "$words" "$lines lines: $output"; fi ;;
    *) fail "$words" "not in: $output" ;;
    esac
}

check "--help" $stress --help
for word in --model --env --traffic --trace --episodes --seed --out; do
    case $output in *"$word"*) pass ;; *) fail "--help" "does not mention $word" ;; esac
done
small='--quiet --episodes 20 --batch 16 --replay 3000 --check-every 10'
# shellcheck disable=SC2086
{
    check "a model" $train $small --env honest --algo dueling --out "$work/m"
    check "another" $train $small --env seed0 --out "$work/n"
    check "one of four servers" $train $small --env honest --rates 0.1,0.1,0.05,0.05 --out "$work/four"
}
model=$work/m/model.safetensors

check "a contest" $stress --quiet --model "$model" --episodes 40 --out "$work/a"
for word in trained_dueling least_load round_robin 'survival' 'overloads' 'P99 load' 'paired by episode'; do
    case $output in *"$word"*) pass ;; *) fail "the table" "does not mention $word" ;; esac
done
check "the same again" $stress --quiet --model "$model" --episodes 40 --out "$work/b"
if cmp -s "$work/a/stress_test.csv" "$work/b/stress_test.csv"; then pass; else fail "same seed" "other figures"; fi
check "another seed" $stress --quiet --model "$model" --episodes 40 --seed 2 --out "$work/b"
if cmp -s "$work/a/stress_test.csv" "$work/b/stress_test.csv"; then fail "another seed" "same figures"; else pass; fi
for f in results.json stress_test.csv stress_test.png; do
    if [ -s "$work/a/$f" ]; then pass; else fail "files written" "$f is missing"; fi
done
check "the published cluster, from the model" $stress --quiet --model "$work/n/model.safetensors" --traffic low \
    --episodes 10 --out "$work/c"
case $output in *low*) pass ;; *) fail "--traffic low" "$output" ;; esac
check "no model" $stress --quiet --traffic bursty --episodes 10 --out "$work/c"
check "two models" $stress --quiet --model "$model,$work/n/model.safetensors" --env honest --rates 0.05,0.1,0.15 \
    --episodes 10 --out "$work/c"
check "four servers, from the model" $stress --quiet --model "$work/four/model.safetensors" --episodes 10 \
    --out "$work/c"
awk 'BEGIN { print "time,work"; for (i = 0; i < 900; i++) print i "," 1 + i * 7 % 5 }' >"$work/good.csv"
check "a trace" $stress --quiet --model "$model" --trace "$work/good.csv" --episodes 10 --out "$work/c"
case $output in *"trace traffic"*) pass ;; *) fail "--trace" "no row for it" ;; esac

if have python3; then
    cat >"$work/schema.py" <<'PY'
import json, math, sys
r = json.load(open(sys.argv[1]))
want = {"policy", "traffic", "mean_return", "return_ci95", "mean_length", "survival", "mean_load", "load_std",
        "p99_load"}
assert r["program"] == "stress_test" and r["version"] and "seed" in r and "settings" in r
pairs = [(x["policy"], x["traffic"]) for x in r["results"]]
assert len(pairs) == len(set(pairs)) == 8 * 3, pairs
for x in r["results"]:
    assert want <= set(x), x
    assert all(math.isfinite(x[k]) for k in want - {"policy", "traffic"}), x
    assert 1 <= x["mean_length"] <= 100 and 0 <= x["survival"] <= 1 and 0 <= x["p99_load"] <= 1, x
    assert x["survival"] == 1 and x["mean_length"] == 100, "the honest cluster ends no episode early"
by = {(x["policy"], x["traffic"]): x["mean_return"] for x in r["results"]}
for x in r["paired"]:  # the mean of the differences is the difference of the means
    d = by[x["policy"], x["traffic"]] - by[x["against"], x["traffic"]]
    assert abs(d - x["return_difference"]) < 1e-6 * (1 + abs(d)), x
assert by["least_load", "bursty"] > by["random", "bursty"]
PY
    check "results.json" python3 "$work/schema.py" "$work/a/results.json"
else
    skip "results.json" "python3 is not installed"
fi

# ---- wrong usage, wrong files ------------------------------------------------------------------------------------

one_line 2 'no such option' $stress --modle x
one_line 2 'trace needs --trace' $stress --traffic trace
one_line 2 '--traffic' $stress --traffic low,huge
one_line 2 '--episodes' $stress --episodes 1
one_line 2 '--model' $stress --model a,,b
one_line 1 'cannot read' $stress --model "$work/none" --out "$work/no"
one_line 1 'it balances 3 servers, and here are 4' $stress --model "$model" --rates 0.1,0.1,0.1,0.1 --out "$work/no"
one_line 1 'not a model' $stress --model "$work/a/stress_test.csv" --out "$work/no"
head -c 4000 "$model" >"$work/cut"
one_line 1 'not a model' $stress --model "$work/cut" --out "$work/no"
head -c 7 "$model" >"$work/cut"
one_line 1 'not a model' $stress --model "$work/cut" --out "$work/no"
: >"$work/empty"
one_line 1 'not a model' $stress --model "$work/empty" --out "$work/no"
{ printf '\377\377\377\377\377\377\377\177'; tail -c +9 "$model"; } >"$work/huge"
one_line 1 'not a model' $stress --model "$work/huge" --out "$work/no"
sed 's/"shape":\[64,64\]/"shape":[64,32]/' "$model" >"$work/shape"
if cmp -s "$model" "$work/shape"; then fail "a wrong shape" "could not be made"; else
    one_line 1 'not a model' $stress --model "$work/shape" --out "$work/no"
fi
printf 'time,work\n1,2\n3,x\n' >"$work/word.csv"
one_line 1 "$work/word.csv:3: " $stress --trace "$work/word.csv" --out "$work/no"
if [ ! -e "$work/no" ]; then pass; else fail "a refused run" "makes its folder"; fi
: >"$work/file"
one_line 1 "$work/file" $stress --quiet --episodes 2 --out "$work/file/folder"
mkdir "$work/full"
output=$( (ulimit -f 8; exec $stress --quiet --episodes 2 --out "$work/full") 2>&1)
if [ $? -eq 1 ] && [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]; then pass; else fail "full disk" "$output"; fi
if [ -z "$(find "$work/full" -name '*.part')" ]; then pass; else fail "full disk" "leaves a part of a file"; fi

# ---- damaged files under AddressSanitizer ------------------------------------------------------------------------

if [ -f build/common-asan/lib.a ] && ${CC:-cc} -std=c99 -D_POSIX_C_SOURCE=200809L -I. -Iexamples/common -O1 -g1 \
    -fsanitize=address,undefined -fno-sanitize-recover=all -DRLLB_I_ASAN=1 -DRLLB_I_DONE -DRLLB_NN_I_DONE \
    -DRLLB_ENV_I_DONE examples/stress_test.c build/common-asan/lib.a \
    -o "$work/stress_asan" -lm -pthread >"$work/asan.log" 2>&1; then
    check "under AddressSanitizer" "$work/stress_asan" --quiet --model "$model" --episodes 2 --out "$work/asan"
    size=$(wc -c <"$model")
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        # Sixteen bytes of the head overwritten, at a place of its own for each i.
        at=$((i * 97 % 1500))
        { head -c $at "$model"; printf '%016d' $((i * 7919)); tail -c +$((at + 17)) "$model"; } >"$work/damaged"
        "$work/stress_asan" --quiet --model "$work/damaged" --episodes 2 --out "$work/asan" >"$work/asan.log" 2>&1
        status=$?
        if [ $status -le 1 ] && ! grep -q Sanitizer "$work/asan.log"; then pass
        else fail "damaged at $at of $size" "exit status $status: $(head -n 3 "$work/asan.log")"; fi
    done
else
    skip "damaged files under AddressSanitizer" "no build of the common files with it"
fi
finish
