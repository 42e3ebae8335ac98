#!/bin/sh
# The program compare, at small size: its files, slices, resuming, and what it refuses.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

compare=build/compare
small='--traffic low,high --seeds 2 --episodes 12 --window 5'

check "--help" $compare --help
for word in --env --traffic --seeds --resume --shard --merge '[low,high]' '[0.99]' '[800]' '[10]'; do
    says "--help" "$word"
done

one_line 2 '--traffic: no' $compare --traffic rush
one_line 2 '--episodes' $compare --episodes 1
one_line 2 '--seeds' $compare --seeds many
one_line 2 '--shard' $compare --shard 5
one_line 2 '--merge' $compare --merge
one_line 2 'no such option; did you mean --gamma' $compare --gama 1

check "compare" $compare $small --out "$work/a"
for word in 'low traffic: seeds 1 to 2' 'high traffic: seeds 1 to 2' 'dueling less dqn' 'published: low traffic' \
    'published: high traffic: Dueling is' 'not decided' 'nothing about the claims' 'early crash'; do
    says "compare" "$word"
done
there "compare" "$work/a/results.json" "$work/a/compare.csv" "$work/a/curves.csv" "$work/a/runs.csv" \
    "$work/a/curves.png" "$work/a/stability.png"
schema compare "$work/a/results.json"
if [ "$(runs_in "$work/a")" -eq 16 ]; then pass; else fail "compare" "$(runs_in "$work/a") runs, should be 16"; fi
if [ "$(wc -l <"$work/a/curves.csv")" -eq 13 ]; then pass; else fail "curves.csv" "not a heading and 12 rows"; fi
nothing_left "compare" "$work/a"

check "slice 1" $compare $small --quiet --shard 1/3 --out "$work/s1"
check "slice 2" $compare $small --quiet --shard 2/3 --out "$work/s2"
check "slice 3" $compare $small --quiet --shard 3/3 --out "$work/s3"
check "slices joined" $compare $small --quiet --merge --out "$work/m" "$work/s1" "$work/s2" "$work/s3"
same "in slices or whole" "$work/a" "$work/m"

rm "$work"/m/runs/high_* "$work"/m/runs/seed0_high_* 2>/dev/null
rm -f "$work/m/results.json"
check "--resume" $compare $small --resume --out "$work/m"
says "--resume" '8 of 16 runs are there already'
same "resumed or whole" "$work/a" "$work/m"

check "another world, one seed" $compare --quiet --env honest --traffic bursty --seeds 1 --episodes 3 --out "$work/h"
schema compare "$work/h/results.json"
finish
