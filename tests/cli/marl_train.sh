#!/bin/sh
# The program marl_train: every algorithm learns and leaves a model; a run is the same bytes however often, in how many
# processes and with how many interruptions it was computed; and every wrong input ends in one line and the right exit
# status.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

train=build/marl_train
# Small enough for a fraction of a second, large enough for updates.
small='--quiet --judge 0 --horizon 4 --hidden 8 --mixer 4 --batch 3 --updates 2 --learn-start 2'

check "--help" $train --help
for word in --algo --preset --seeds --seed --reward --reward-of --net --rnn --hidden --features --actions --form \
    --control-form --smoothing --interval --gamma --lambda --lr --batch --updates --episodes --horizon --rates \
    --weights --balancers --randomise --sac-form --resume --out qmix,vdn,iql,isac,ssac,distr-lb,rlb-sac; do
    says "--help" "$(echo "$word" | cut -d, -f1)"
done

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 'one of: qmix, vdn, iql, isac, ssac, distr-lb, rlb-sac' $train --algo sarsa
one_line 2 'one of: jain, product, sine, var, var-log, max, var-both, mean, mean-log' $train --reward most
one_line 2 'one of: seed4-a, seed4-b, moderate, large, degraded, fleet' $train --preset huge
one_line 2 '--rates' $train --rates 700,fast
one_line 2 '--seeds' $train --seeds 0
one_line 2 '--lr' $train --lr nan
one_line 2 'not an option' $train out
one_line 2 'any number is for soft actor-critic' $train --algo vdn --actions continuous
one_line 2 '--reward-norm: batch is for soft actor-critic' $train --algo qmix --reward-norm batch
one_line 2 '--sac-form' $train --algo rlb-sac --sac-form released
one_line 2 '--control-form' $train --algo isac --control-form
one_line 2 '--control-form' $train --algo isac --control-form --net set
one_line 2 '--draw' $train --form draw --draw 3,1
one_line 2 '--draw' $train --form draw --draw 0,1,1
one_line 2 'a flat network is for one number of servers' $train --algo isac --randomise
one_line 2 'take vdn' $train --algo qmix --net set --randomise
one_line 2 '--horizon' $train --horizon 0.5

# ---- every algorithm, in one go and in two -----------------------------------------------------------------------

# shellcheck disable=SC2086
{
    # Six episodes at once; and three, killed without a word, and what is left.
    again() # name; the rest is options
    {
        name=$1
        shift
        set -- $small "$@" --replay 6 --epsilon-episodes 4
        check "$name" $train "$@" --episodes 6 --save-every 3 --out "$work/whole"
        there "$name" "$work/whole/model-1.safetensors" "$work/whole/checkpoint-1.safetensors" \
            "$work/whole/curve.csv" "$work/whole/curve.png" "$work/whole/results.json"
        check "$name, half" $train "$@" --episodes 3 --out "$work/halves"
        check "$name, the other half" $train "$@" --episodes 6 --save-every 3 --resume --out "$work/halves"
        same "$name: in one go or in two" "$work/whole" "$work/halves"
        nothing_left "$name" "$work/halves"
        schema marl_train "$work/halves/results.json"
        rm -rf "$work/whole" "$work/halves"
    }
    again qmix --algo qmix
    again "qmix, released" --algo qmix --explore bounded --rnn none --state world --reward max
    again "vdn, a set" --algo vdn --net set --features relative --actions steps --reward mean-log
    again iql --algo iql --reward-norm none --reward-scale 0.1 --explore softmax --form draw
    again isac --algo isac --actions code --reward-of shared
    again "isac, released" --algo isac --sac-form released --rnn none
    again "isac, the dispatch too" --algo isac --net set --form draw --control-form --actions wide --features own
    again ssac --algo ssac
    again distr-lb --algo distr-lb
    again rlb-sac --algo rlb-sac --preset seed4-a --updates 1 --batch 4 --learn-start 4
    again "random worlds" --algo vdn --net set --randomise --servers 6 --balancers 2 --features relative
    again "pages" --algo iql --pages --rnn none
    check "one agent for two balancers" $train $small --algo ssac --balancers 2 --episodes 3 --out "$work/joint"
    if [ ! -e "$work/joint/model-1.safetensors" ]; then pass; else fail "ssac" "a model that serves no balancer"; fi
    check "eight servers" $train $small --algo vdn --preset seed4-b --servers 8 --episodes 3 --out "$work/eight"

    some="$small --algo qmix --episodes 4 --seeds 3"
    check "a few runs" $train $some --jobs 1 --out "$work/one"
    check "the same again" $train $some --jobs 3 --out "$work/three"
    same "one process or three" "$work/one" "$work/three"
    check "other seeds" $train $some --seed 2 --out "$work/other"
    if cmp -s "$work/one/curve.csv" "$work/other/curve.csv"; then fail "other seeds" "change nothing"; else pass; fi
    if cmp -s "$work/one/model-3.safetensors" "$work/other/model-3.safetensors"; then pass
    else fail "a seed" "depends on the others"; fi
    check "judged" $train --algo vdn --horizon 4 --hidden 8 --updates 0 --episodes 2 --judge 1 --rates 700 \
        --out "$work/judged"
    says "judged" 'vdn, seed 1'
    says "judged" 'sed, told the capacities'
    schema marl_train "$work/judged/results.json"

    # Killed without a word, and by Ctrl-C, and taken up again.
    long="$small --algo qmix --episodes 40 --updates 6 --save-every 2 --seeds 2"
    check "a longer run" $train $long --out "$work/long"
    begun() # folder: both runs have written a checkpoint
    {
        tries=0
        while [ "$(find "$1" -name 'checkpoint-*.safetensors' 2>/dev/null | wc -l)" -lt 2 ] && [ $tries -lt 1000 ]; do
            sleep 0.01
            tries=$((tries + 1))
        done
    }
    $train $long --jobs 2 --out "$work/killed" >/dev/null 2>&1 &
    pid=$!
    begun "$work/killed"
    one_line 1 'another program is writing' $train $long --out "$work/killed"
    kill -9 $pid
    wait $pid 2>/dev/null
    if [ ! -e "$work/killed/results.json" ]; then pass; else fail "kill -9" "it was done already"; fi
    check "--resume after kill -9" $train $long --resume --out "$work/killed"
    same "killed or not" "$work/long" "$work/killed"

    $train $long --jobs 2 --out "$work/stopped" >"$work/log" 2>&1 &
    pid=$!
    begun "$work/stopped"
    kill -INT $pid
    wait $pid
    status=$?
    output=$(cat "$work/log")
    if [ $status -eq 130 ]; then pass; else fail "Ctrl-C" "exit status $status"; fi
    says "Ctrl-C" 'go on with the same command and --resume'
    nothing_left "Ctrl-C" "$work/stopped"
    check "--resume after Ctrl-C" $train $long --resume --out "$work/stopped"
    same "stopped or not" "$work/long" "$work/stopped"
}

# ---- what is not as it should be ---------------------------------------------------------------------------------

# shellcheck disable=SC2086
{
    good="$small --algo qmix --episodes 3 --replay 8 --epsilon-episodes 4 --out $work/good"
    file=$work/good/checkpoint-1.safetensors
    check "a small run" $train $good
    cp "$file" "$work/kept"
    one_line 2 'began with lr=0.001, not lr=0.01' $train $good --resume --lr 0.01
    one_line 2 'began with algo=qmix, not algo=vdn' $train $good --resume --algo vdn
    one_line 2 'began with preset=moderate, not preset=large' $train $good --resume --preset large --rates 700
    one_line 2 'began with reward=product, not reward=mean' $train $good --resume --reward mean
    one_line 2 'has done 3 already' $train $good --resume --episodes 2
    head -c 5000 "$work/kept" >"$file"
    one_line 1 'not a checkpoint' $train $good --resume
    : >"$file"
    one_line 1 'not a checkpoint' $train $good --resume
    # Another shape under the same name: the width in the metadata is a lie.
    $train $good --hidden 4 >/dev/null 2>&1
    LC_ALL=C sed 's/hidden=4/hidden=8/' "$file" >"$work/lie"
    cp "$work/lie" "$file"
    one_line 1 'not a checkpoint of this run' $train $good --resume
    # Sixteen bytes overwritten: what is still valid may run on; nothing may crash.
    size=$(wc -c <"$work/kept")
    for i in 1 2 3 4 5 6; do
        at=$((i * 104729 % (size - 16)))
        { head -c $at "$work/kept"; printf '%16s' '' | tr ' ' '\377'; tail -c +$((at + 17)) "$work/kept"; } >"$file"
        output=$($train $good --episodes 4 --resume 2>&1)
        status=$?
        if [ $status -le 2 ] && [ "$(printf '%s' "$output" | wc -l)" -le 1 ]; then pass
        else fail "damaged at $at" "exit status $status: $output"; fi
    done

    one_line 1 'seed 1: episode 3, update ' $train $small --algo qmix --episodes 4 --lr 1000 --updates 300 \
        --out "$work/div"
    echo text >"$work/file"
    one_line 1 "$work/file" $train $small --out "$work/file/below"
    one_line 1 'cannot write' sh -c "ulimit -f 8; exec $train $small --algo iql --episodes 3 --out $work/full"
    nothing_left "a full disk" "$work/full"
}
finish
