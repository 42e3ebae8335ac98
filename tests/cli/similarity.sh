#!/bin/sh
# The program similarity: the published figures to four decimals, its own brute force beside it, files of several kinds,
# and what it refuses. The recorded traces are not part of the project: what needs them is skipped where they are not.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

similarity=build/similarity traces=../shared/traces
small='--quiet --permutations 99 --sample 60'
written='results.json similarity.csv comparisons.csv similarity_histogram.png similarity_series.png
         similarity_comparisons.png'

is_picture() # name, file
{
    if [ "$(head -c 8 "$2" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]; then pass
    else fail "$1" "no PNG: $2"
    fi
}

value() # file, object, key: the number in results.json
{
    sed -n "/\"$2\": {/,/}/s/.*\"$3\": \([-0-9.e]*\).*/\1/p" "$1" | head -n 1
}

check "--help" $similarity --help
for word in --reference --columns --simulated --model --policy --join --rows --seed --out '[999]' '[500]'; do
    case $output in *"$word"*) pass ;; *) fail "--help" "does not mention $word" ;; esac
done

# ---- the published files ----
if [ -r $traces/seed0_reference_loads.csv ]; then
    check "the published files" $similarity --reference $traces/seed0_reference_loads.csv \
        --simulated $traces/seed0_simulation_log.csv --out "$work/published" --quiet
    for words in '90.6423' '5.2839' '76.5982' '98.4529' '90.21' '5.42' '76.60' '98.45' 'uniform noise' 'constant' \
        'round robin' 'least load' 'own row left out' 'energy coefficient' 'these are not the same loads'; do
        says "the published files" "$words"
    done
    schema similarity "$work/published/results.json"
    says_json=$(grep -c '"published"' "$work/published/results.json")
    if [ "$says_json" -eq 1 ]; then pass; else fail "the published files" "not known as such"; fi
    check "twelve servers" $similarity --reference $traces/google2011_cpu_12vms_300s.csv --policy round_robin \
        --traffic low --rows 50 $small --out "$work/google"
    says "twelve servers" "288 rows of 12 servers"
    nab=$traces/nab/ec2_cpu_utilization_
    check "three files side by side" $similarity --reference "${nab}5f5533.csv,${nab}825cc2.csv,${nab}ac20cd.csv" \
        --rows 50 $small --out "$work/nab"
    says "three files side by side" "4032 rows of 3 servers: ec2_cpu_utilization_5f5533"
    says "three files side by side" "divided by 100"
    one_line 1 "no time is in all of these files" $similarity --join time \
        --reference "${nab}5f5533.csv,${nab}825cc2.csv" --out "$work/nab"
else
    skip "the published files" "$traces is not there"
fi

# ---- traces of our own ----
# Two servers; every simulated row is 0.03 and 0.04 away from row 7 of the trace: distance 0.05, similarity 96.4645.
awk 'BEGIN { print "t_s,a,b"; for (i = 0; i < 40; i++) print i * 300 "," i % 10 / 10 "," i % 7 / 10 }' \
    >"$work/trace.csv"
awk 'BEGIN { print "Step,Server1,Server2,Action"
             for (i = 1; i <= 20; i++) print i ",0.63,0.64,Server" 1 + i % 2 }' >"$work/log.csv"
check "a trace of our own" $similarity --reference "$work/trace.csv" --simulated "$work/log.csv" $small --out "$work/a"
says "a trace of our own" "96.4645"
says "a trace of our own" "40 rows of 2 servers: a, b"
for f in $written; do there "files written" "$work/a/$f"; done
for f in histogram series comparisons; do is_picture "pictures" "$work/a/similarity_$f.png"; done
schema similarity "$work/a/results.json"
nothing_left "files written" "$work/a"
if [ "$(sed -n 2p "$work/a/similarity.csv" | cut -d , -f 1,2)" = 1,7 ]; then pass
else fail "similarity.csv" "$(sed -n 2p "$work/a/similarity.csv")"
fi
check "the same again" $similarity --reference "$work/trace.csv" --simulated "$work/log.csv" $small --out "$work/b"
for f in similarity.csv comparisons.csv similarity_series.png; do
    if cmp -s "$work/a/$f" "$work/b/$f"; then pass; else fail "the same again" "$f differs"; fi
done

# A scan of everything in awk against the program's search, four servers, 300 rows.
awk 'BEGIN { srand(7); print "w,x,y,z"; for (i = 0; i < 300; i++) print rand() "," rand() "," rand() "," rand() }' \
    >"$work/four.csv"
awk 'BEGIN { srand(8); print "w,x,y,z"; for (i = 0; i < 100; i++) print rand() "," rand() "," rand() "," rand() }' \
    >"$work/some.csv"
check "four servers" $similarity --reference "$work/four.csv" --simulated "$work/some.csv" $small --out "$work/c"
scan=$(awk -F, 'BEGIN { n = 0 } FNR == 1 { next }
    NR == FNR { for (j = 1; j <= 4; j++) r[n, j] = $j; n++; next }
    { best = 9; for (k = 0; k < n; k++) { d = 0; for (j = 1; j <= 4; j++) d += ($j - r[k, j]) ^ 2
                                          if (d < best) best = d }
      sum += 100 * (1 - sqrt(best) / 2) }
    END { printf "%.4f", sum / 100 }' "$work/four.csv" "$work/some.csv")
got=$(printf '%.4f' "$(value "$work/c/results.json" similarity mean)")
if [ "$scan" = "$got" ]; then pass; else fail "four servers" "a scan finds $scan, the program $got"; fi

# The test must not cry wolf: the trace's own rows in another order are the same loads.
awk 'NR > 1' "$work/four.csv" | sort >"$work/sorted.csv"
check "the same loads in another order" $similarity --reference "$work/four.csv" --simulated "$work/sorted.csv" $small \
    --sample 300 --out "$work/c"
says "the same loads in another order" "100.0000"
says "the same loads in another order" "cannot tell the simulated loads"

check "columns by name and number" $similarity --reference "$work/trace.csv" --columns b,2 --simulated "$work/log.csv" \
    --simulated-columns Server2,2 $small --out "$work/c"
says "columns by name and number" "96.4645"
for kind in seed0 honest; do
    check "a policy, $kind" $similarity --reference "$work/trace.csv" --policy sed --env $kind --traffic bursty \
        --rows 30 $small --out "$work/c"
done
check "a model" build/train --quiet --episodes 8 --batch 8 --replay 500 --check-every 4 --env honest --out "$work/m"
check "two files, full at 2" $similarity --reference "$work/trace.csv,$work/trace.csv" --columns a,b,2 \
    --simulated-full 1 --reference-full 2 --policy random --rows 30 $small --out "$work/c"
awk 'BEGIN { for (i = 0; i < 30; i++) print i % 7 / 10 "," i % 5 / 10 "," i % 3 / 10 }' >"$work/three.csv"
check "a model against a trace" $similarity --reference "$work/three.csv" --model "$work/m/model.safetensors" \
    --rows 30 $small --out "$work/d"
says "a model against a trace" "30 rows of 3 servers"
schema similarity "$work/d/results.json"

# ---- what it refuses ----
one_line 2 "--reference" $similarity --out "$work/no"
one_line 2 "--policy" $similarity --reference "$work/trace.csv" --policy best --out "$work/no"
one_line 2 "not together" $similarity --reference x --simulated y --model z --out "$work/no"
one_line 2 "--columns" $similarity --reference x --colums a --out "$work/no"
one_line 2 "trace needs --trace FILE" $similarity --reference x --traffic trace --out "$work/no"
one_line 1 "$work/none.csv" $similarity --reference "$work/none.csv" --out "$work/no"
printf 'a,b\n0.1,0.2\n0.3,x\n' >"$work/bad.csv"
one_line 1 "bad.csv:3: 'x' in column 2 is not a number" $similarity --reference "$work/bad.csv" --out "$work/no"
printf 'a,b\n0.1,0.2\n0.3\n' >"$work/bad.csv"
one_line 1 "bad.csv:3: 1 columns where the header has 2" $similarity --reference "$work/bad.csv" --out "$work/no"
one_line 1 "there is no column 'c'" $similarity --reference "$work/trace.csv" --columns c --out "$work/no"
one_line 1 "has 4 servers, and" $similarity --reference "$work/trace.csv" --simulated "$work/some.csv" --out "$work/no"
one_line 1 "--columns chooses" $similarity --reference "$work/trace.csv" --model "$work/m/model.safetensors" \
    --out "$work/no"
printf 'a,b\n0.1,0.2\n' >"$work/bad.csv"
one_line 1 "one row is no trace" $similarity --reference "$work/bad.csv" --out "$work/no"
if [ -e "$work/no" ]; then fail "refusals" "they left a folder"; else pass; fi
: >"$work/file"
one_line 1 "cannot make the folder" $similarity --reference "$work/trace.csv" $small --out "$work/file/x"
if have flock; then
    mkdir "$work/busy"
    one_line 1 "another program is writing" flock "$work/busy" \
        $similarity --reference "$work/trace.csv" --out "$work/busy"
else
    skip "two programs in one folder" "flock is not installed"
fi
(
    ulimit -f 8
    $similarity --reference "$work/trace.csv" --simulated "$work/log.csv" $small --out "$work/full" \
        >"$work/full.out" 2>&1
    echo $? >"$work/full.status"
)
if [ "$(cat "$work/full.status")" -eq 1 ] && [ "$(wc -l <"$work/full.out")" -eq 1 ]; then pass
else fail "a full disk" "$(cat "$work/full.status") $(cat "$work/full.out")"
fi
nothing_left "a full disk" "$work/full"
finish
