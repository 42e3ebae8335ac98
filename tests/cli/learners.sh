#!/bin/sh
# The program learners: a run is the same bytes however often, in how many processes and with how many interruptions
# it was computed, for every algorithm; one that diverges is named and keeps its last good state; and every wrong input
# ends in one line and the right exit status.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

learners=build/learners

check "--help" $learners --help
for word in --task --algo --net --steps --seeds --seed --lr --entropy --check-every --jobs --resume --out \
    two-step,matrix,memory,cartpole,pendulum,set; do
    says "--help" "$(echo "$word" | cut -d, -f1)"
done

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 'one of: two-step, matrix, memory, cartpole, pendulum, set' $learners --task chess
one_line 2 'one of: iql, vdn, qmix, sac, sac-released' $learners --algo sarsa
one_line 2 'one of: feed-forward, recurrent' $learners --net lstm
one_line 2 'qmix is of no use for pendulum: its actions are numbers, not choices' $learners --task pendulum --algo qmix
one_line 2 'sac-released is of no use for pendulum' $learners --task pendulum --algo sac-released
one_line 2 'vdn is of no use for cartpole: there is one agent' $learners --task cartpole --algo vdn
one_line 2 'qmix is of no use for set' $learners --task set --algo sac,qmix
one_line 2 'no use for these tasks' $learners --task cartpole,pendulum --algo qmix
one_line 2 '--seeds' $learners --seeds 0
one_line 2 '--lr' $learners --lr nan
one_line 2 '--steps' $learners --steps -1
one_line 2 'not an option' $learners out

# ---- the same bytes ----------------------------------------------------------------------------------------------

# shellcheck disable=SC2086
{
    # Each algorithm in one go, and in two with what is left of the first read from its checkpoint.
    again() # name, steps of both halves, of the first; the rest is options
    {
        name=$1 steps=$2 half=$3
        shift 3
        check "$name" $learners --quiet "$@" --steps $steps --out "$work/whole"
        check "$name, half" $learners --quiet "$@" --steps $half --out "$work/halves"
        check "$name, the other half" $learners --quiet "$@" --steps $steps --resume --out "$work/halves"
        same "$name: in one go or in two" "$work/whole" "$work/halves"
        nothing_left "$name" "$work/halves"
        schema learners "$work/halves/results.json"
        rm -rf "$work/halves"
    }
    again "values of two agents" 1000 500 --task two-step --algo iql,vdn,qmix,sac --seeds 1
    there "values of two agents" "$work/whole/two-step.png" \
        "$work/whole/two-step-entropy.png" "$work/whole/history.csv" "$work/whole/results.json"
    rm -rf "$work/whole"
    again "recurrent" 1000 500 --task memory --net recurrent --algo iql,sac,sac-released --seeds 1 --learn-every 27
    rm -rf "$work/whole"
    again "steps" 1000 500 --task cartpole --algo iql,sac,sac-released --seeds 1
    rm -rf "$work/whole"
    again "continuous" 1000 600 --task pendulum --net all --seeds 1 --check-every 200 --learn-every 20
    rm -rf "$work/whole"
    again "sets" 960 480 --task set --algo iql,vdn,sac --net all --seeds 1 --learn-every 40
    rm -rf "$work/whole"

    some='--quiet --task two-step,memory --algo iql --net recurrent --seeds 3 --steps 1000'
    check "a few runs" $learners $some --jobs 1 --out "$work/one"
    check "the same again" $learners $some --jobs 3 --out "$work/three"
    same "one process or three" "$work/one" "$work/three"
    check "other seeds" $learners $some --seed 2 --out "$work/other"
    if cmp -s "$work/one/history.csv" "$work/other/history.csv"; then fail "other seeds" "change nothing"; else pass; fi
    third=runs/memory-iql-recurrent-3.safetensors
    if cmp -s "$work/one/$third" "$work/other/$third"; then pass; else fail "a seed" "depends on the others"; fi
    check "tables" $learners --task two-step --algo iql --seeds 2 --steps 500 --out "$work/tables"
    says "tables" 'IQL, feed-forward'

    # Killed without a word, and by Ctrl-C (in the middle of episodes), and taken up again.
    long='--quiet --task cartpole,pendulum --algo sac --seeds 1 --steps 3000 --check-every 250 --save-every 1'
    check "a longer run" $learners $long --out "$work/long"
    $learners $long --jobs 2 --out "$work/killed" >/dev/null 2>&1 &
    pid=$!
    tries=0
    while [ "$(find "$work/killed/runs" -name '*.safetensors' 2>/dev/null | wc -l)" -lt 2 ] && [ $tries -lt 400 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    one_line 1 'another program is writing' $learners $long --out "$work/killed"
    kill -9 $pid
    wait $pid 2>/dev/null
    if [ ! -e "$work/killed/results.json" ]; then pass; else fail "kill -9" "it was done already"; fi
    check "--resume after kill -9" $learners $long --resume --out "$work/killed"
    same "killed or not" "$work/long" "$work/killed"

    $learners $long --save-every 1000 --jobs 2 --out "$work/stopped" >"$work/log" 2>&1 &
    pid=$!
    tries=0
    while [ ! -d "$work/stopped/runs" ] && [ $tries -lt 400 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    sleep 0.2
    kill -INT $pid
    wait $pid
    status=$?
    output=$(cat "$work/log")
    if [ $status -eq 130 ]; then pass; else fail "Ctrl-C" "exit status $status"; fi
    says "Ctrl-C" 'go on with the same command and --resume'
    nothing_left "Ctrl-C" "$work/stopped"
    check "--resume after Ctrl-C" $learners $long --resume --out "$work/stopped"
    same "stopped or not" "$work/long" "$work/stopped"
}

# ---- a run that diverges -----------------------------------------------------------------------------------------

one_line 1 'runs diverged, two-step-iql-feed-forward-1 at step' $learners --quiet --task two-step --algo qmix,iql \
    --lr 1000 --seeds 1 --out "$work/div"
schema learners "$work/div/results.json"
wild='--quiet --task pendulum --lr 1000 --seeds 1 --steps 2000'
# shellcheck disable=SC2086
{
    one_line 1 'runs diverged' $learners $wild --out "$work/div2"
    one_line 1 'runs diverged' $learners $wild --resume --out "$work/div2"
}
if have python3; then
    cat >"$work/finite.py" <<'PY'
import json, math, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
head = json.loads(data[8:8 + n])
seen = 0
for name, t in head.items():
    if name == "__metadata__" or t["dtype"] != "F32":
        continue
    a, b = t["data_offsets"]
    values = struct.unpack("<%df" % ((b - a) // 4), data[8 + n + a:8 + n + b])
    assert all(math.isfinite(v) for v in values), name
    seen += len(values)
assert seen > 1000, seen
PY
    check "the last good state is finite" python3 "$work/finite.py" \
        "$work/div/runs/two-step-qmix-feed-forward-1.safetensors"
    check "the last good state is finite" python3 "$work/finite.py" \
        "$work/div2/runs/pendulum-sac-feed-forward-1.safetensors"
else
    skip "the last good state is finite" "python3 is not installed"
fi

# ---- checkpoints that are not what they should be ----------------------------------------------------------------

good="--quiet --task two-step --algo qmix --seeds 1 --out $work/good"
file=$work/good/runs/two-step-qmix-feed-forward-1.safetensors
# shellcheck disable=SC2086
{
    check "a small run" $learners $good --steps 1000
    cp "$file" "$work/kept"
    one_line 2 'began with lr=0.001, not lr=0.01' $learners $good --steps 2000 --resume --lr 0.01
    one_line 2 'began with hidden=32, not hidden=16' $learners $good --steps 2000 --resume --hidden 16
    one_line 2 'has done 1000 already' $learners $good --steps 500 --resume
    head -c 5000 "$work/kept" >"$file"
    one_line 1 'not a checkpoint' $learners $good --steps 2000 --resume
    : >"$file"
    one_line 1 'not a checkpoint' $learners $good --steps 2000 --resume
    echo '{}' >"$file"
    one_line 1 'not a checkpoint' $learners $good --steps 2000 --resume
    # Another shape under the same name: the width in the metadata is a lie.
    $learners $good --steps 1000 --hidden 16 >/dev/null 2>&1
    LC_ALL=C sed 's/hidden=16/hidden=32/' "$file" >"$work/lie"
    cp "$work/lie" "$file"
    one_line 1 'not a checkpoint of this run' $learners $good --steps 2000 --resume
    # Sixteen bytes overwritten: what is still valid may run on; nothing may crash.
    size=$(wc -c <"$work/kept")
    for i in 1 2 3 4 5 6 7 8; do
        at=$((i * 104729 % (size - 16)))
        { head -c $at "$work/kept"; printf '%16s' '' | tr ' ' '\377'; tail -c +$((at + 17)) "$work/kept"; } >"$file"
        output=$($learners $good --steps 1250 --resume 2>&1)
        status=$?
        if [ $status -le 2 ] && [ "$(printf '%s' "$output" | wc -l)" -le 1 ]; then pass
        else fail "damaged at $at" "exit status $status: $output"; fi
    done
}

# ---- what goes wrong ---------------------------------------------------------------------------------------------

echo text >"$work/file"
one_line 1 "$work/file" $learners --quiet --out "$work/file/below"
one_line 1 'cannot write' sh -c "ulimit -f 8; exec $learners --quiet --seeds 1 --steps 500 --algo iql --out $work/full"
nothing_left "a full disk" "$work/full"
finish
