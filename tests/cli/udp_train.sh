#!/bin/sh
# The program udp_train: it learns both worlds, the same command gives the same bytes, wrong usage is one line, nothing
# half-written stays behind.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

train=build/udp_train
small='--quiet --episodes 12 --check-every 5 --judged 5'

check "--help" $train --help
for word in --world --clients --see --interval --algo --hidden --tau --episodes --seeds --out; do
    says "--help" "$word"
done
check "--version" $train --version

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 'no such option; did you mean --episodes' $train --episode 5
one_line 2 '--world' $train --world fair
one_line 2 '--clients' $train --clients 1
one_line 2 '--interval' $train --world honest --interval 0.1
one_line 2 '--see: all is for --world honest' $train --see all --out "$work/no"
one_line 2 '--replay: 31 is less than a batch of 32' $train --replay 31 --out "$work/no"
one_line 2 '--hidden: more than 8 layers' $train --hidden 4,4,4,4,4,4,4,4,4 --out "$work/no"
if [ ! -e "$work/no" ]; then pass; else fail "a refused run" "makes its folder"; fi
: >"$work/file"
one_line 1 "$work/file" $train --quiet --out "$work/file/folder"

# ---- a run is its settings and its seed --------------------------------------------------------------------------

same_run() # name, two folders; results.json tells how long it took
{
    for f in model.safetensors curve.csv curve.png policies.png; do
        if cmp -s "$2/$f" "$3/$f"; then pass; else fail "$1" "$f differs"; fi
    done
}

# shellcheck disable=SC2086
{
    check "honest" $train $small --world honest --seeds 2 --clients 4 --out "$work/dqn"
    check "again" $train $small --world honest --seeds 2 --clients 4 --out "$work/again"
    check "double, another seed" $train $small --world honest --algo double --seed 2 --clients 4 --out "$work/other"
    check "dueling, metrics alone" $train $small --world honest --algo dueling --see metrics --out "$work/blind"
}
there "honest" "$work/dqn/model.safetensors" "$work/dqn/results.json" "$work/dqn/curve.csv" "$work/dqn/curve.png" \
    "$work/dqn/policies.png"
same_run "the same command" "$work/dqn" "$work/again"
if cmp -s "$work/dqn/curve.csv" "$work/other/curve.csv"; then fail "another seed" "the same curve"; else pass; fi
nothing_left "all runs" "$work"

# A signal ends it with its number, and nothing is written.
$train --world honest --episodes 100000 --out "$work/stopped" >/dev/null 2>"$work/stopped.log" &
pid=$!
tries=0
while [ ! -d "$work/stopped" ] && [ $tries -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
sleep 0.1
kill -TERM $pid
wait $pid
status=$?
if [ $status -eq 143 ]; then pass; else fail "stopped" "exit status $status"; fi
if [ -z "$(ls -A "$work/stopped")" ]; then pass; else fail "stopped" "leaves $(ls "$work/stopped")"; fi

# ---- it learns ---------------------------------------------------------------------------------------------------
# Shorter than the defaults: fewer random actions.

check "original" $train --quiet --episodes 200 --epsilon-decay 0.97 --judged 100 --out "$work/original"
check "honest" $train --quiet --world honest --episodes 200 --epsilon-decay 0.97 --judged 100 --out "$work/honest"
schema udp_train "$work/original/results.json"
schema udp_train "$work/honest/results.json"
schema udp_train "$work/dqn/results.json"

if have python3; then
    cat >"$work/learnt.py" <<'PY'
import json, sys

def results(folder):
    r = json.load(open(folder + "/results.json"))
    return {x["policy"]: x for x in r["results"]}

def metadata(folder):
    f = open(folder + "/model.safetensors", "rb").read()
    return json.loads(f[8:8 + int.from_bytes(f[:8], "little")])["__metadata__"]

work = sys.argv[1]
r = results(work + "/original")
assert r["trained"]["return"]["low"] > -52, r["trained"]
assert abs(r["random"]["return"]["mean"] + 100) < 4 and abs(r["greedy"]["return"]["mean"] + 50) < 3
assert r["least_network"]["return"] == r["greedy"]["return"]
r = results(work + "/honest")
for rule in ("least_cpu", "least_network", "least_memory", "round_robin", "random"):
    assert r[rule]["trained_less_this"]["low"] > 0, (rule, r[rule])
m = metadata(work + "/original")
assert m["inputs"] == "cpu,memory,network" and m["clients"] == "3" and m["world"] == "original", m
m = metadata(work + "/dqn")
assert m["inputs"] == "cpu,memory,network,sent,age" and m["clients"] == "4" and m["units"] == "share", m
assert m["env"] == "metrics" and float(m["interval_s"]) == 1 and m["world"] == "honest", m
rows = open(work + "/dqn/curve.csv").read().splitlines()
assert rows[0] == "seed,episode,return,epsilon,loss,greedy_return" and len(rows) == 25, rows[0]
checked = [int(x.split(",")[1]) for x in rows[1:] if x.split(",")[5]]
assert checked == [5, 10, 12] * 2, checked
PY
    check "what it learnt" python3 "$work/learnt.py" "$work"
else
    skip "what it learnt" "python3 is not installed"
fi
finish
