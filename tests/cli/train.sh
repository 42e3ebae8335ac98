#!/bin/sh
# The program train: the same command gives the same bytes, stopping and resuming too, and every wrong input ends in one
# line and the right exit status, with nothing half-written left behind.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

train=build/train
small='--quiet --episodes 24 --batch 16 --replay 3000 --check-every 10'
honest='--env honest --algo dueling --double --per --n-step 2'

# Ends with status $1 and one line that has the words $2. The rest is the command.
one_line()
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

same() # name, folders: the same bytes of what must not depend on how a run came about
{
    for f in history.csv model.safetensors; do
        if cmp -s "$2/$f" "$3/$f"; then pass; else fail "$1" "$f differs"; fi
    done
}

nothing_left() # name, folder
{
    left=$(find "$2" -name '*.part' 2>/dev/null)
    if [ -z "$left" ]; then pass; else fail "$1" "left behind: $left"; fi
}

wait_for() # a file, for ten seconds at most
{
    tries=0
    while [ ! -f "$1" ] && [ $tries -lt 200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
}

check "--help" $train --help
for word in --env --traffic --trace --algo --double --per --episodes --seed --resume --out; do
    case $output in *"$word"*) pass ;; *) fail "--help" "does not mention $word" ;; esac
done
check "--version" $train --version

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 'no such option; did you mean --episodes' $train --episode 5
one_line 2 "--episodes: 'many'" $train --episodes many
one_line 2 '--episodes' $train --episodes 0
one_line 2 '--episodes' $train --episodes
one_line 2 '--env' $train --env best
one_line 2 '--gamma' $train --gamma nan
one_line 2 'trace needs --trace' $train --traffic trace
one_line 2 'has no use with' $train --traffic low --trace x.csv
one_line 2 'two servers' $train --rates 0.1
one_line 2 '--replay' $train --replay 10
one_line 2 'not an option' $train out
if $train --isa neon $small --out "$work/isa" >/dev/null 2>&1; then other=avx2; else other=neon; fi
one_line 2 '--isa' $train --isa $other --out "$work/isa"

# ---- the same bytes ----------------------------------------------------------------------------------------------

# shellcheck disable=SC2086
{
    check "a run" $train $small --out "$work/a"
    check "the same again" $train $small --out "$work/b"
    same "same command, same bytes" "$work/a" "$work/b"
    for f in history.csv model.safetensors checkpoint.safetensors results.json reward_history.png; do
        if [ -s "$work/a/$f" ]; then pass; else fail "files written" "$f is missing"; fi
    done
    if [ "$(wc -l <"$work/a/history.csv")" -eq 25 ]; then pass; else fail "history.csv" "not one line per episode"; fi
    check "another seed" $train $small --seed 2 --out "$work/other"
    if cmp -s "$work/a/history.csv" "$work/other/history.csv"; then fail "another seed" "changes nothing"; else pass; fi

    check "stopped at 13" $train $small --episodes 13 --out "$work/c"
    check "resumed to 24" $train --quiet --resume "$work/c/checkpoint.safetensors" --episodes 24
    same "resuming is not stopping" "$work/a" "$work/c"
    check "all at once" $train $small $honest --out "$work/d"
    check "stopped at 11" $train $small $honest --episodes 11 --out "$work/e"
    check "resumed with the same words" $train $small $honest --resume "$work/e/checkpoint.safetensors" \
        --out "$work/f"
    same "double, prioritised, n-step: resuming is not stopping" "$work/d" "$work/f"

    # Killed without a word, resumed from whatever checkpoint was there last.
    long="$small --episodes 500 --check-every 200"
    check "a longer run" $train $long --out "$work/g"
    $train $long --save-every 20 --out "$work/h" >/dev/null 2>&1 &
    victim=$!
    wait_for "$work/h/checkpoint.safetensors"
    kill -KILL $victim 2>/dev/null
    wait $victim 2>/dev/null
    if [ ! -f "$work/h/history.csv" ]; then pass; else fail "killed half-way" "it had finished already"; fi
    check "resumed after SIGKILL" $train --quiet --resume "$work/h/checkpoint.safetensors"
    same "resumed after SIGKILL" "$work/g" "$work/h"

    # Ctrl-C saves first. (A background job of sh ignores SIGINT, so SIGTERM stands in: the same handler.)
    $train $long --save-every 20 --out "$work/i" >"$work/i.log" 2>&1 &
    victim=$!
    wait_for "$work/i/checkpoint.safetensors"
    kill -TERM $victim 2>/dev/null
    wait $victim 2>/dev/null
    status=$?
    if [ $status -eq 143 ] && grep -q 'stopped after .* go on with: train --resume' "$work/i.log"; then pass
    else fail "interrupted" "exit status $status: $(cat "$work/i.log")"; fi
    check "resumed after an interrupt" $train --quiet --resume "$work/i/checkpoint.safetensors"
    same "resumed after an interrupt" "$work/g" "$work/i"

    # Portable arithmetic: every instruction set gives the same.
    $train $small $honest --portable --isa generic --out "$work/generic" >/dev/null 2>&1
    for isa in sse2 avx2; do
        if $train $small $honest --portable --isa $isa --out "$work/$isa" >/dev/null 2>&1; then
            if cmp -s "$work/generic/history.csv" "$work/$isa/history.csv"; then pass
            else fail "portable" "$isa and generic differ"; fi
        else
            skip "portable $isa" "this processor does not have it"
        fi
    done
}

# ---- files that are not what they should be: 1 -------------------------------------------------------------------

good=$work/c/checkpoint.safetensors
one_line 1 'cannot read' $train --resume "$work/none"
one_line 1 'not a checkpoint' $train --resume "$work/c/model.safetensors" --out "$work/no"
one_line 1 'not a checkpoint' $train --resume "$work/c/history.csv" --out "$work/no"
head -c 5000 "$good" >"$work/cut"
one_line 1 'not a checkpoint' $train --resume "$work/cut" --out "$work/no"
one_line 2 'goes on with the settings' $train --resume "$good" --gamma 0.5
one_line 2 'has done 24 already' $train --resume "$good" --episodes 3

printf 'time,work\n1,2\n3,x\n' >"$work/word.csv"
one_line 1 "$work/word.csv:3: " $train --trace "$work/word.csv" --out "$work/no"
printf 'time,work\n2,2\n1,2\n' >"$work/unsorted.csv"
one_line 1 "$work/unsorted.csv:3: " $train --trace "$work/unsorted.csv" --out "$work/no"
printf 'time,work\n1,2\n2,inf\n' >"$work/infinite.csv"
one_line 1 "$work/infinite.csv:3: " $train --trace "$work/infinite.csv" --out "$work/no"
printf 'time,work\n1,2\n2,2\n3' >"$work/short.csv"
one_line 1 "$work/short.csv:4: " $train --trace "$work/short.csv" --out "$work/no"
: >"$work/empty.csv"
one_line 1 "$work/empty.csv" $train --trace "$work/empty.csv" --out "$work/no"
head -c 3000 "$good" >"$work/binary.csv"
one_line 1 "$work/binary.csv" $train --trace "$work/binary.csv" --out "$work/no"
one_line 1 'it is a folder' $train --trace "$work" --out "$work/no"
if [ ! -e "$work/no" ]; then pass; else fail "a refused run" "makes its folder"; fi

printf '\357\273\277time,work\r\n' >"$work/good.csv"
awk 'BEGIN { for (i = 0; i < 900; i++) printf "%s%d,%d", i ? "\r\n" : "", i, 1 + i * 7 % 5 }' >>"$work/good.csv"
# shellcheck disable=SC2086
check "a trace with BOM, CRLF and no last newline" $train $small $honest --trace "$work/good.csv" --out "$work/trace"

# ---- damaged checkpoints under AddressSanitizer --------------------------------------------------------------------

if [ -f build/common-asan/lib.a ] && ${CC:-cc} -std=c99 -D_POSIX_C_SOURCE=200809L -I. -Iexamples/common -O1 -g1 \
    -fsanitize=address,undefined -fno-sanitize-recover=all -DRLLB_I_ASAN=1 -DRLLB_I_DONE -DRLLB_NN_I_DONE \
    -DRLLB_ENV_I_DONE examples/train.c build/common-asan/lib.a \
    -o "$work/train_asan" -lm -pthread >"$work/asan.log" 2>&1; then
    "$work/train_asan" --quiet --episodes 3 --batch 8 --replay 64 --per --n-step 2 --out "$work/asan" >/dev/null 2>&1
    whole=$work/asan/checkpoint.safetensors
    size=$(wc -c <"$whole")
    # Sixteen bytes overwritten, by digits in the first half of the cases and by ones in the second. What is still a
    # valid checkpoint may run on; nothing may crash.
    for i in 1 2 3 4 5 6 7 8; do
        at=$((i * 7919 % (size - 16)))
        { head -c $at "$whole"
          if [ $i -le 4 ]; then printf '%016d' $((i * 7919)); else printf '%16s' '' | tr ' ' '\377'; fi
          tail -c +$((at + 17)) "$whole"; } >"$work/damaged"
        "$work/train_asan" --quiet --resume "$work/damaged" --episodes 4 --out "$work/asan2" >"$work/asan.log" 2>&1
        status=$?
        if [ $status -le 2 ] && ! grep -q -E 'Sanitizer|runtime error' "$work/asan.log"; then pass
        else fail "damaged at $at of $size" "exit status $status: $(head -n 3 "$work/asan.log")"; fi
    done
else
    skip "damaged checkpoints under AddressSanitizer" "no build of the common files with it"
fi

# ---- folders and disks that do not take it -----------------------------------------------------------------------

: >"$work/file"
one_line 1 "$work/file" $train --out "$work/file/folder"
one_line 1 "$work/file" $train --out "$work/file"
# A limit on the size of files fails as a full disk does: in write().
mkdir "$work/full"
output=$( (ulimit -f 8; exec $train --quiet --episodes 3 --out "$work/full") 2>&1)
if [ $? -eq 1 ] && [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]; then pass; else fail "full disk" "$output"; fi
nothing_left "full disk" "$work/full"
if [ -z "$(ls -A "$work/full")" ]; then pass; else fail "full disk" "leaves $(ls "$work/full")"; fi
nothing_left "all runs" "$work/a"

# ---- results.json ------------------------------------------------------------------------------------------------

if have python3; then
    cat >"$work/schema.py" <<'PY'
import json, math, sys
r = json.load(open(sys.argv[1]))
for key in ("program", "version", "seed", "settings", "kernels", "seconds", "results", "steps", "updates"):
    assert key in r, key
for key in ("env", "traffic", "algo", "gamma", "lr", "batch", "episodes", "rates"):
    assert key in r["settings"], key
names = [x["policy"] for x in r["results"]]
assert "trained" in names and "least_load" in names and len(set(names)) == len(names), names
for x in r["results"]:
    assert math.isfinite(x["mean_return"]) and x["return_ci95"] >= 0 and 0 <= x["dropped_share"] <= 1, x
rows = open(sys.argv[2]).read().splitlines()
assert rows[0] == "episode,return,moving_average,epsilon,loss,length,dropped_share,greedy_return", rows[0]
returns = [float(x.split(",")[1]) for x in rows[1:]]
assert abs(float(rows[-1].split(",")[2]) - sum(returns[-50:]) / len(returns[-50:])) < 1e-9
assert sum(int(x.split(",")[5]) for x in rows[1:]) == r["steps"]
PY
    check "results.json" python3 "$work/schema.py" "$work/a/results.json" "$work/a/history.csv"
    check "results.json, resumed" python3 "$work/schema.py" "$work/f/results.json" "$work/f/history.csv"
else
    skip "results.json" "python3 is not installed"
fi
finish
