#!/bin/sh
# The program ablation, at small size: its files, slices, resuming, and what it refuses.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

ablation=build/ablation
small='--seeds 2 --episodes 15 --window 5'

check "--help" $ablation --help
for word in --env --traffic --as-original --epsilon --resume --shard --merge '[high]' '[0.99]' '[800]' '[10]'; do
    says "--help" "$word"
done

one_line 2 '--traffic: no' $ablation --traffic rush
one_line 2 '--epsilon: 2 is out of range' $ablation --epsilon 2
one_line 2 '--lr' $ablation --lr -1
one_line 2 '--shard' $ablation --shard 2/1
one_line 2 '--merge: is missing' $ablation "$work"
one_line 2 'no such option' $ablation --as-published

check "ablation" $ablation $small --out "$work/a"
for word in full 'no target network' 'no replay' 'no double' 'no dueling head' 'no gradient clipping' \
    'no prioritised replay' 'no epsilon decay' 'run, no figure' 'too few to say' 'early crash'; do
    says "ablation" "$word"
done
case $output in *'as published'*) fail "ablation" "shows what --as-original asks for" ;; *) pass ;; esac
there "ablation" "$work/a/results.json" "$work/a/ablation.csv" "$work/a/curves.csv" "$work/a/runs.csv" \
    "$work/a/curves.png" "$work/a/stability.png"
schema ablation "$work/a/results.json"
if [ "$(runs_in "$work/a")" -eq 16 ]; then pass; else fail "ablation" "$(runs_in "$work/a") runs, should be 16"; fi
nothing_left "ablation" "$work/a"

# Every variant is another learner: with an update every step no two histories are alike.
check "long enough to learn" $ablation --quiet --seeds 1 --episodes 60 --as-original --out "$work/l"
there "--as-original" "$work/l/results.json"
schema ablation "$work/l/results.json"
alike=$(cksum "$work"/l/runs/*.csv | awk '{ print $1 }' | sort | uniq -d)
if [ "$(runs_in "$work/l")" -eq 9 ] && [ -z "$alike" ]; then pass; else fail "variants" "two are the same"; fi

check "slice 1" $ablation $small --quiet --shard 1/2 --out "$work/s1"
check "slice 2" $ablation $small --quiet --shard 2/2 --out "$work/s2"
check "slices joined" $ablation $small --quiet --merge --out "$work/m" "$work/s1" "$work/s2"
same "in slices or whole" "$work/a" "$work/m"

rm "$work"/m/runs/*no_double* "$work/m/results.json"
check "--resume" $ablation $small --resume --out "$work/m"
says "--resume" '14 of 16 runs are there already'
same "resumed or whole" "$work/a" "$work/m"
finish
