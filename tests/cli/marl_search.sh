#!/bin/sh
# The program marl_search: it leaves a model that serves; a search is the same bytes however often, in how many
# processes and with how many interruptions it was computed; and every wrong input ends in one line and the right exit
# status.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

search=build/marl_search
# Small enough for a fraction of a second.
small='--quiet --pairs 2 --worlds 2 --flows 300 --ticks 600 --hidden 4'

check "--help" $search --help
for word in --generations --pairs --worlds --sigma --lr --hidden --from --worlds-of --balancers --servers --only \
    --flows --ticks --aim --judge --seed --out --jobs --resume --quiet \
    random,seed4-a,seed4-b,moderate,large,degraded,fleet; do
    says "--help" "$(echo "$word" | cut -d, -f1)"
done

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 'one of: all, own' $search --aim most
one_line 2 'one of: mean, mean-log, tail, jain, product, var-log' $search --judge median
one_line 2 'one of: random, seed4-a, seed4-b, moderate, large, degraded, fleet' $search --worlds-of huge
one_line 2 '--servers' $search --servers 5
one_line 2 '--pairs' $search --pairs 0
one_line 2 '--sigma' $search --sigma nan
one_line 2 '--generations' $search --generations 0
one_line 2 'not an option' $search out

# shellcheck disable=SC2086
{
    # ---- a search, in one go and in two, in one process and in two -------------------------------------------------

    again() # name; the rest is options
    {
        name=$1
        shift
        set -- $small --generations 12 "$@"
        check "$name" $search "$@" --jobs 1 --out "$work/one"
        there "$name" "$work/one/model.safetensors" "$work/one/checkpoint.safetensors" "$work/one/curve.csv" \
            "$work/one/curve.png"
        check "$name, two processes" $search "$@" --jobs 2 --out "$work/two"
        same "$name: one process or two" "$work/one" "$work/two"
        check "$name, done already" $search "$@" --resume --out "$work/two"
        same "$name: nothing is left to do" "$work/one" "$work/two"
        nothing_left "$name" "$work/two"
        if [ "$(wc -l <"$work/one/curve.csv")" -eq 13 ]; then pass; else fail "$name" "not a line a generation"; fi
        # Candidates that nobody obeys all fare alike, as in the shortest of worlds.
        if awk -F, 'NR > 1 { better += $4 > $3 } END { exit better < 6 }' "$work/one/curve.csv"; then pass
        else fail "$name" "the best are no better than the others"; fi
        if cmp -s "$work/one/curve.csv" "$work/last"; then fail "$name" "is the search before"; else pass; fi
        cp "$work/one/curve.csv" "$work/last"
        rm -rf "$work/one" "$work/two"
    }
    again "random worlds"
    again "another seed" --seed 2
    again "each for its own" --aim own
    again "by the mean" --judge mean
    again "by the mean logarithm" --judge mean-log
    again "a preset" --worlds-of fleet --balancers 3 --servers 5 --judge jain
    again "a preset, each for its own" --worlds-of seed4-b --aim own

    # Killed without a word, by Ctrl-C, and taken up again: after a save of its own accord, and before.
    long="$small --generations 25 --flows 2000 --ticks 4000 --jobs 2"
    check "a longer search" $search $long --out "$work/long"
    $search $long --out "$work/killed" >/dev/null 2>&1 &
    pid=$!
    tries=0
    while [ ! -e "$work/killed/checkpoint.safetensors" ] && [ $tries -lt 1000 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    one_line 1 'another program is writing' $search $long --out "$work/killed"
    kill -9 $pid
    wait $pid 2>/dev/null
    if [ ! -e "$work/killed/curve.png" ]; then pass; else fail "kill -9" "it was done already"; fi
    check "--resume after kill -9" $search $long --resume --out "$work/killed"
    same "killed or not" "$work/long" "$work/killed"

    $search $long --out "$work/stopped" >"$work/log" 2>&1 &
    pid=$!
    sleep 0.3
    kill -INT $pid
    wait $pid
    status=$?
    output=$(cat "$work/log")
    if [ $status -eq 130 ]; then pass; else fail "Ctrl-C" "exit status $status"; fi
    says "Ctrl-C" 'go on with the same command and --resume'
    nothing_left "Ctrl-C" "$work/stopped"
    check "--resume after Ctrl-C" $search $long --resume --out "$work/stopped"
    same "stopped or not" "$work/long" "$work/stopped"

    # A process of it that dies is a failure that is said, not a figure that is missing.
    $search $long --generations 1000 --out "$work/dead" >"$work/log" 2>&1 &
    pid=$!
    child=
    tries=0
    while [ -z "$child" ] && [ $tries -lt 200 ]; do
        child=$(ps -A -o pid= -o ppid= 2>/dev/null | awk -v parent=$pid '$2 == parent { print $1; exit }')
        if [ -n "$child" ]; then kill -9 "$child" 2>/dev/null || child=; fi
        tries=$((tries + 1))
    done
    if [ -z "$child" ]; then kill -9 $pid; fi
    wait $pid
    status=$?
    output=$(cat "$work/log")
    if [ $status -eq 1 ]; then pass; else fail "a process that dies" "exit status $status"; fi
    says "a process that dies" 'ended by signal 9'

    # ---- the model ---------------------------------------------------------------------------------------------------

    model=$work/long/model.safetensors
    check "the model serves" build/simulate --preset moderate --policy "learned($model),sed" --seeds 1 --duration 5 \
        --quiet --out "$work/simulated"
    check "it is gone on from" $search $small --generations 2 --from "$model" --out "$work/further"
    if cmp -s "$work/further/model.safetensors" "$model"; then fail "--from" "it does not move"; else pass; fi
    one_line 2 'is of another shape' $search $small --hidden 5 --from "$model" --out "$work/no"
    one_line 1 'none.safetensors' $search $small --from "$work/none.safetensors" --out "$work/no"
    one_line 1 'is no balancing policy' $search $small --from "$work/long/checkpoint.safetensors" --out "$work/no"
    if [ ! -e "$work/no" ]; then pass; else fail "--from" "a folder although there was nothing to do"; fi
    check "summary" $search ${small#--quiet} --generations 3 --out "$work/told"
    says "summary" 'SED that is told the'

    # ---- what is not as it should be -------------------------------------------------------------------------------

    good="$small --generations 4 --out $work/good"
    file=$work/good/checkpoint.safetensors
    check "a small search" $search $good
    cp "$file" "$work/kept"
    one_line 2 'began with lr=0.02, not lr=0.01' $search $good --resume --lr 0.01
    one_line 2 'began with aim=all, not aim=own' $search $good --resume --aim own
    one_line 2 'began with generations=4, not generations=5' $search $good --resume --generations 5
    head -c 3000 "$work/kept" >"$file"
    one_line 1 'not a checkpoint' $search $good --resume
    : >"$file"
    one_line 1 'not a checkpoint' $search $good --resume
    cp "$work/good/model.safetensors" "$file"
    one_line 1 'not a checkpoint of a policy search' $search $good --resume
    # Another shape under the same name: the width in the metadata is a lie.
    check "a narrower one" $search $good --hidden 3
    LC_ALL=C sed 's/hidden=3/hidden=4/' "$file" >"$work/lie"
    cp "$work/lie" "$file"
    one_line 1 'not a checkpoint of this search' $search $good --resume
    # Sixteen bytes overwritten: what is still valid may run on; nothing may crash.
    size=$(wc -c <"$work/kept")
    for i in 1 2 3 4 5 6 7 8; do
        at=$((i * 104729 % (size - 16)))
        { head -c $at "$work/kept"; printf '%16s' '' | tr ' ' '\377'; tail -c +$((at + 17)) "$work/kept"; } >"$file"
        output=$($search $good --resume 2>&1)
        status=$?
        if [ $status -le 2 ] && [ "$(printf '%s' "$output" | wc -l)" -le 1 ]; then pass
        else fail "damaged at $at" "exit status $status: $output"; fi
    done

    echo text >"$work/file"
    one_line 1 "$work/file" $search $small --out "$work/file/below"
    one_line 1 'cannot write' sh -c "ulimit -f 4; exec $search $small --generations 3 --out $work/full"
    nothing_left "a full disk" "$work/full"
}
finish
