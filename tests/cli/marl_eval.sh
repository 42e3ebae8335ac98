#!/bin/sh
# The program marl_eval: models meet the arrivals that simulate gives the same policies, reruns change no byte, a model
# is told nothing, what happens to a server is seen in its share, and files that are no model, or do not fit, are one
# line that says which and why. So does simulate --policy learned(FILE).
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

eval=build/marl_eval simulate=build/simulate
train="build/marl_train --quiet --episodes 1 --horizon 5 --updates 1 --learn-start 1 --judge 0 --hidden 8"

check "--help" $eval --help
for word in --model --name --preset --rates --loads --balancers --servers --policies --told --against --weights \
    --model-weights --events --series --seeds --seed --duration --warmup '[out/marl_eval]'; do
    says "--help" "$word"
done

check "a model" $train --preset degraded --algo qmix --out "$work/seven"
check "a model of any size" $train --preset degraded --net set --rnn none --features relative --actions steps \
    --form draw --control-form --out "$work/set"
seven=$work/seven/model-1.safetensors set=$work/set/model-1.safetensors
there "models" "$seven" "$set"

# ---- a run, and the same again -------------------------------------------------------------------------------------

printf 'time_s,event,server,value\n6,fail,5,1\n10,back,5,\n' >"$work/events"
run="$eval --model $seven,$set --name seven,set --preset degraded --policies least_time,sed,hlb,sed_oracle --told"
check "a run" $run --seeds 2 --duration 16 --balancers 1,2 --series --events "$work/events" --jobs 1 --out "$work/a"
for word in '2 balancers; differences to sed+told' 'learned:seven: ' 'qmix, trained on degraded, 1 episode' \
    'models equal, others preset, +told: the true' 'sed_oracle+told *' 'hlb+told' 'lost %' 'there after, s' \
    '6 s: fail of server 5' '10 s: back of server 5' 'the best that is not told' '40 runs' 'paired by seed'; do
    says "a run" "$word"
done
there "a run" "$work/a/results.json" "$work/a/marl_eval.csv" "$work/a/series.csv" "$work/a/weights.csv" \
    "$work/a/boxes.png" "$work/a/weights_520_m1.png" "$work/a/weights_520_m2.png"
schema marl_eval "$work/a/results.json"
nothing_left "a run" "$work/a"
check "again, two at a time" $run --seeds 2 --duration 16 --balancers 1,2 --series --events "$work/events" --jobs 2 \
    --quiet --out "$work/b"
if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
same "run twice" "$work/a" "$work/b"

# A server that fails all it gets is left within two seconds, by the row of every policy; its weight is 0 then.
if awk '/"event": "fail"/ { n++; if (!match($0, /"seconds": [0-9.]+/) || substr($0, RSTART + 11, 4) + 0 > 2) bad++ }
        END { exit !(n == 20 && !bad) }' "$work/a/results.json"; then pass
else fail "a server that fails" "$(grep '"event": "fail"' "$work/a/results.json")"; fi
if awk -F, '$1 == "learned:set" && $3 == 1 && $5 == "\"server 5" && $4 > 8 && $4 < 10 { n++; if ($8 > 0) bad++ }
            END { exit !(n == 3 && !bad) }' "$work/a/weights.csv"; then pass
else fail "weights.csv" "$(grep 'learned:set,520,1,9' "$work/a/weights.csv")"; fi

# The same arrivals as in simulate, and the same figures: of the others, and of a model that is told as much.
rows() { grep -h "\"policy\": \"$2\", .*\"balancers\": 1, \"seed\": .*jct_p999" "$1" | sed 's/,$//'; }
check "simulate" $simulate --preset degraded --policy "sed,learned($set)" --weights equal --balancers 1 --seeds 2 \
    --duration 16 --events "$work/events" --quiet --no-pictures --out "$work/s"
check "marl_eval" $run --seeds 2 --duration 16 --balancers 1 --events "$work/events" --quiet --no-pictures \
    --weights equal --out "$work/e"
if [ -n "$(rows "$work/s/results.json" sed)" ] &&
    [ "$(rows "$work/s/results.json" sed)" = "$(rows "$work/e/results.json" sed)" ]; then pass
else fail "simulate and marl_eval" "sed has other figures"; fi
learned() { rows "$1" "learned:$2" | sed "s/learned:$2/learned/"; }
if [ -n "$(learned "$work/s/results.json" model-1)" ] &&
    [ "$(learned "$work/s/results.json" model-1)" = "$(learned "$work/e/results.json" set)" ]; then pass
else fail "simulate and marl_eval" "the model has other figures"; fi
# What the others are told changes nothing for a model; what it is told itself does.
if [ "$(learned "$work/a/results.json" set)" = "$(learned "$work/e/results.json" set)" ]; then pass
else fail "a model is told nothing" "it has other figures with --weights equal"; fi
check "--model-weights" $run --model-weights capacity --seeds 2 --duration 16 --balancers 1 --events "$work/events" \
    --quiet --no-pictures --out "$work/w"
if [ "$(learned "$work/w/results.json" set)" != "$(learned "$work/e/results.json" set)" ]; then pass
else fail "--model-weights" "changes nothing"; fi

check "any number of servers" $eval --model "$set" --preset fleet --servers 7 --balancers 3 --policies sed --seeds 1 \
    --duration 5 --against sed --out "$work/f"
says "any number of servers" 'differences to sed'
there "any number of servers" "$work/f/boxes.png"

# ---- wrong input ---------------------------------------------------------------------------------------------------

no="$eval --quiet --out $work/no"
one_line 2 "seven/model-1.safetensors is made for 7 servers, this world has 24" $no --model "$seven" --preset large
one_line 2 "seven/model-1.safetensors is made for 7 servers, this world has 24" $simulate --quiet --out "$work/no" \
    --preset large --policy "learned($seven)"
one_line 1 "$work/none: No such file" $no --model "$work/none"
one_line 1 "it is a folder" $no --model "$work"
printf 'no model' >"$work/words"
one_line 1 "$work/words: is no whole model file" $no --model "$seven,$work/words"
one_line 1 "$work/words: is no whole model file" $simulate --quiet --out "$work/no" --policy "sed,learned($work/words)"
head -c 1000 /dev/zero >"$work/zeros"
one_line 1 "$work/zeros: is no whole model file" $no --model "$work/zeros"
size=$(wc -c <"$seven")
for part in 7 100 $((size / 2)) $((size - 1)); do
    head -c "$part" "$seven" >"$work/cut"
    one_line 1 "$work/cut: is no whole model file" $no --model "$work/cut"
done
one_line 1 "is no balancing policy" $no --model "$work/seven/checkpoint-1.safetensors"
# A field of the metadata that is wrong, as long as the one that was right.
sed 's/"interval_s":"0.25"/"interval_s":"x.25"/' "$seven" >"$work/field"
one_line 1 "$work/field: the field interval_s is 'x.25', but should be a number from" $no --model "$work/field"
sed 's/"features":"cikm"/"features":"kimc"/' "$seven" >"$work/field"
one_line 1 "the field features is 'kimc', but should be one of cikm, neurips, own, relative" $no --model "$work/field"

no="$no --model $seven --preset degraded"
one_line 2 "--name: 2 names for 1 models" $no --name a,b
one_line 2 "--name: its value is empty" $no --name ''
one_line 2 "--name: 'a b' has what a name should not" $no --name 'a b'
one_line 2 "--name: two models are called model-1" $eval --quiet --out "$work/no" --model "$seven,$set"
one_line 2 "--model: file 2 of the list has no name" $eval --quiet --out "$work/no" --model "$seven,"
one_line 2 "--policies" $no --policies sedd
one_line 2 "give its file with --model" $no --policies "learned($set)"
one_line 2 "--against: 'lsq' does not take part" $no --policies sed --against lsq
one_line 2 "--loads: has no use with --rates" $no --rates 100 --loads 0.5
one_line 2 "--seeds" $no --seeds 0
one_line 2 "--preset: no 'fleets' here; did you mean fleet?" $no --preset fleets
one_line 1 "nowhere" $no --events "$work/nowhere"
if [ -e "$work/no" ]; then fail "wrong input" "leaves a folder"; else pass; fi

# The model that ships: from here, or from anywhere; a line where there is none.
if [ -e models/rllb-balancer.safetensors ]; then
    check "the one that ships" $eval --quiet --policies sed --seeds 1 --duration 5 --no-pictures --out "$work/m"
    check "the one that ships" $simulate --quiet --policy learned --seeds 1 --duration 5 --no-pictures --out "$work/m"
    here=$(pwd)
    check "from elsewhere" sh -c "cd '$work' && '$here/$simulate' --quiet --policy learned --seeds 1 --duration 5 \
        --no-pictures --out m"
else
    one_line 1 "there is no file models/rllb-balancer.safetensors" $simulate --policy learned --out "$work/no"
    one_line 1 "there is no file models/rllb-balancer.safetensors" $eval --out "$work/no"
fi

# ---- stopped half-way ----------------------------------------------------------------------------------------------

stop() # signal, status
{
    rm -rf "$work/h"
    $eval --model "$set" --policies sed --preset fleet --seeds 400 --duration 600 --jobs 2 --out "$work/h" \
        >"$work/h.out" 2>&1 &
    pid=$!
    sleep 0.5
    kill -"$1" "$pid"
    wait $pid 2>/dev/null
    got=$?
    if [ $got -eq "$2" ]; then pass; else fail "stopped by $1" "exit status $got: $(cat "$work/h.out")"; fi
    left=$(find "$work/h" -type f 2>/dev/null)
    if [ -z "$left" ]; then pass; else fail "stopped by $1" "left behind: $left"; fi
}
stop TERM 143
if grep -q 'stopped with [0-9]* of [0-9]* runs done' "$work/h.out"; then pass
else fail "stopped" "$(cat "$work/h.out")"; fi
stop KILL 137
tries=0 # the processes of its runs notice within moments
while ! $eval --model "$set" --policies sed --seeds 1 --duration 5 --no-pictures --quiet --out "$work/h" \
    >"$work/h.out" 2>&1 && [ $tries -lt 100 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
there "after a kill" "$work/h/results.json"
finish
