#!/bin/sh
# The program tune: a grid is the same bytes however many processes, slices, interruptions and machines it took; nothing
# runs twice; and every wrong input ends in one line and the right exit status.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

tune=build/tune
small='--quiet --lr 1e-3,1e-4 --gamma .9 --seeds 2 --episodes 30'
long='--quiet --lr 1e-3,1e-4 --gamma .99,.9 --seeds 2 --episodes 100 --jobs 1'

check "--help" $tune --help
for word in --lr --gamma --algo --env --traffic --resume --shard --merge --jobs '[0.001,0.0005,0.0001]' \
    '[0.99,0.95,0.9]' '[dqn,dueling]' '[800]' '[out/tune]'; do
    says "--help" "$word"
done

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 "--lr: 'fast'" $tune --lr 1e-3,fast
one_line 2 '--lr: 0 is out of range' $tune --lr 0
one_line 2 '--gamma: 1.5' $tune --gamma 1.5
one_line 2 '--algo: no' $tune --algo dqn,sarsa
one_line 2 '--traffic: no' $tune --traffic trace
one_line 2 '--lr: 0.001 is there twice' $tune --lr 1e-3,0.001
one_line 2 '--replay: 64 is less than a batch of 128' $tune --replay 64
one_line 2 '--seeds' $tune --seeds 0
one_line 2 '100000' $tune --seeds 1000 --lr 1,2,3,4,5,6,7,8,9 --gamma .1,.2,.3,.4,.5,.6,.7
one_line 2 '--shard' $tune --shard 3/2
one_line 2 '--shard' $tune --shard 0/2
one_line 2 '--shard' $tune --shard half
one_line 2 '--shard' $tune --shard 1/0
one_line 2 '--merge: needs' $tune --merge
one_line 2 '--merge: is missing' $tune "$work"
one_line 2 '--merge' $tune --merge --shard 1/2 "$work"

# ---- a grid ------------------------------------------------------------------------------------------------------

check "a small grid" $tune $small --out "$work/a"
there "a small grid" "$work/a/results.json" "$work/a/ranking.csv" "$work/a/runs.csv" "$work/a/heat_map.png" \
    "$work/a/ranking.png"
if [ "$(runs_in "$work/a")" -eq 8 ]; then pass; else fail "a small grid" "$(runs_in "$work/a") runs, should be 8"; fi
schema tune "$work/a/results.json"
if [ "$(wc -l <"$work/a/ranking.csv")" -eq 5 ]; then pass; else fail "ranking.csv" "not a heading and four rows"; fi
nothing_left "a small grid" "$work/a"

check "one process" $tune $small --jobs 1 --out "$work/b"
same "one process or several" "$work/a" "$work/b"

check "tables" $tune --lr 1e-3,1e-4 --gamma .9 --seeds 2 --episodes 30 --out "$work/c"
says "tables" '-73.71'
says "tables" 'Rank correlation'
check "several worlds and more dimensions" $tune --quiet --lr 1e-3 --gamma .9 --algo dueling --double all --per all \
    --n-step 1,3 --env all --traffic low,bursty --seeds 1 --episodes 3 --out "$work/d"
schema tune "$work/d/results.json"
there "several worlds" "$work/d/ranking_4.png" "$work/d/heat_map.png"
if [ "$(runs_in "$work/d")" -eq 32 ]; then pass; else fail "several worlds" "$(runs_in "$work/d") runs, not 32"; fi

# ---- slices ------------------------------------------------------------------------------------------------------

$tune $small --shard 1/2 --out "$work/s1" >"$work/log1" 2>&1 &
one=$!
$tune $small --shard 2/2 --out "$work/s2" >"$work/log2" 2>&1 &
two=$!
if wait $one && wait $two; then pass; else fail "two slices at once" "$(cat "$work/log1" "$work/log2")"; fi
if [ ! -e "$work/s1/results.json" ]; then pass; else fail "a slice" "has results"; fi
one_line 1 '4 of 8 runs are in none of these folders' $tune $small --merge --out "$work/m0" "$work/s1"
check "what merging missed is computed" $tune $small --resume --out "$work/m0"
same "a merge that was completed" "$work/a" "$work/m0"
check "slices joined" $tune $small --merge --out "$work/m" "$work/s1" "$work/s2"
same "in slices or whole" "$work/a" "$work/m"
one_line 1 'were they made with the same options' $tune $small --gamma .8 --merge --out "$work/m1" "$work/s1" "$work/s2"
one_line 1 "cannot read $work/none" $tune $small --merge --out "$work/m1" "$work/none"
cp -r "$work/s2" "$work/s3"
for f in "$work"/s3/runs/*.csv; do sed '2s/,-[0-9]/,-9/' "$f" >"$f.new" && mv "$f.new" "$f"; done
one_line 1 'differs in' $tune $small --merge --out "$work/m1" "$work/s1" "$work/s2" "$work/s3"

# ---- stopped and taken up again ----------------------------------------------------------------------------------

check "a longer grid" $tune $long --out "$work/whole"
$tune $long --out "$work/killed" >/dev/null 2>&1 &
pid=$!
wait_for_runs "$work/killed" 2
one_line 1 'another program is writing' $tune $long --out "$work/killed"
kill -9 $pid
wait $pid 2>/dev/null
done_before=$(runs_in "$work/killed")
if [ "$done_before" -lt 16 ]; then pass; else fail "kill -9" "it was done already"; fi
(cd "$work/killed/runs" && ls -i -- *.csv) >"$work/inodes"
echo half >"$work/killed/runs/x.csv.1.part"
check "--resume after kill -9" $tune $long --resume --out "$work/killed"
same "killed or not" "$work/whole" "$work/killed"
while read -r inode name; do
    if [ "$(cd "$work/killed/runs" && ls -i -- "$name" | awk '{ print $1 }')" = "$inode" ]; then pass
    else fail "--resume" "$name was run twice"
    fi
done <"$work/inodes"

$tune $long --out "$work/stopped" >"$work/log" 2>&1 &
pid=$!
wait_for_runs "$work/stopped" 1
kill -INT $pid
wait $pid
status=$?
if [ $status -eq 130 ]; then pass; else fail "Ctrl-C" "exit status $status"; fi
output=$(cat "$work/log")
says "Ctrl-C" 'go on with the same command and --resume'
nothing_left "Ctrl-C" "$work/stopped"
check "--resume after Ctrl-C" $tune $long --resume --out "$work/stopped"
same "stopped or not" "$work/whole" "$work/stopped"

cp -r "$work/a" "$work/damaged"
damaged=$(find "$work/damaged/runs" -name '*.csv' | head -n 1)
head -c 300 "$damaged" >"$work/part" && mv "$work/part" "$damaged"
check "a damaged history" $tune $small --resume --out "$work/damaged"
says "a damaged history" 'it is computed again'
same "a damaged history" "$work/a" "$work/damaged"
output=$($tune --lr 1e-3 --gamma .9 --seeds 1 --episodes 5 --resume --out "$work/b" 2>&1)
case $output in *'there already'*) fail "other settings" "taken for the same: $output" ;; *) pass ;; esac

# ---- what goes wrong ---------------------------------------------------------------------------------------------

echo text >"$work/file"
one_line 1 "$work/file" $tune $small --out "$work/file/below"
one_line 1 'cannot write' sh -c "ulimit -f 1; exec $tune $small --out $work/full"
nothing_left "a full disk" "$work/full"
finish
