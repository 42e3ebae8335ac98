#!/bin/sh
# The program simulate: reruns and numbers of processes change no byte, a policy's figures do not depend on the company
# it has, what several balancers do to local queues is there, input that is wrong is one line that says where, and what
# is stopped half-way leaves no file.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

simulate=build/simulate
small="--seeds 2 --duration 20 --quiet" plain="--seeds 1 --no-pictures"

check "--help" $simulate --help
for word in --preset --policy --rate --load --balancers --seeds --duration --trace --events --out --seed --warmup \
    --guards --weights 'draw(d,a,gamma)' '[out/simulate]'; do
    case $output in *"$word"*) pass ;; *) fail "--help" "does not mention $word" ;; esac
done

# ---- a run, and the same again -------------------------------------------------------------------------------------

check "a run" $simulate --seeds 2 --duration 20 --policy "lsq,sed,draw(3,1.2,0),sed_oracle" --load 0.6,0.9 \
    --balancers 4 --jobs 1 --out "$work/a"
for word in '4 of 2 CPUs' '840.3 flows/s' '2 runs of 20 s' '504.202 flows/s (load 0.60), 4 balancers' 'load 0.90), 4' \
    'less lsq' 'P99.9' 'busy 4' 'draw(3,1.2,0)' 'sed_oracle *' '16 runs'; do
    says "a run" "$word"
done
there "a run" "$work/a/results.json" "$work/a/simulate.csv" "$work/a/series.csv" "$work/a/sweep.png" \
    "$work/a/boxes_504.202_m4.png" "$work/a/series_756.303_m4.png"
schema simulate "$work/a/results.json"
nothing_left "a run" "$work/a"
if [ "$(grep -c '"seed":' "$work/a/results.json")" -eq 17 ]; then pass; else fail "a run" "not 16 rows"; fi
check "the same again, two at a time" $simulate $small --policy "lsq,sed,draw(3,1.2,0),sed_oracle" --load 0.6,0.9 \
    --balancers 4 --jobs 2 --out "$work/b"
if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
same "run twice" "$work/a" "$work/b"
check "alone" $simulate $small --policy sed --load 0.9 --balancers 4 --out "$work/c"
rows() { grep -h '"policy": "sed", .*"balancers": 4, "seed": .*jct_p999' "$1" | sed 's/,$//' | tail -n 2; }
if [ -n "$(rows "$work/c/results.json")" ] && [ "$(rows "$work/a/results.json")" = "$(rows "$work/c/results.json")" ]
then pass; else fail "alone" "other figures than in company"; fi
there "alone" "$work/c/boxes.png" "$work/c/series.png"
if [ -e "$work/c/sweep.png" ]; then fail "alone" "a sweep of one setting"; else pass; fi
check "another seed" $simulate $small --no-pictures --policy sed --load 0.9 --balancers 4 --seed 7 --out "$work/d"
if [ "$(rows "$work/c/results.json")" != "$(rows "$work/d/results.json")" ]; then pass
else fail "another seed" "the same figures"; fi

# ---- what it is for ------------------------------------------------------------------------------------------------

mean() { sed -n "s/.*\"policy\": \"$2\", .*\"balancers\": $3, \"seed\": 1, \"jct_mean\": \([0-9.e-]*\).*/\1/p" "$1"; }
below() { # what, less, more, factor: less < factor * more
    if awk -v a="$2" -v b="$3" -v f="$4" 'BEGIN { exit !(a > 0 && b > 0 && a < f * b) }'; then pass
    else fail "$1" "$2 is not below $4 times $3"; fi
}
check "fleet" $simulate --quiet --preset fleet --weights capacity --policy 'sed,draw(3,1.2,0),sed_oracle' $plain \
    --duration 60 --balancers 1,32 --out "$work/f"
f=$work/f/results.json
if [ "$(mean "$f" sed 1)" = "$(mean "$f" sed_oracle 1)" ]; then pass
else fail "fleet" "one balancer sees all queues: sed $(mean "$f" sed 1), oracle $(mean "$f" sed_oracle 1)"; fi
below "32 balancers: local queues mislead" "$(mean "$f" 'draw(3,1.2,0)' 32)" "$(mean "$f" sed 32)" 0.5
below "32 balancers: the oracle does not mind" "$(mean "$f" sed_oracle 32)" "$(mean "$f" sed_oracle 1)" 1.05

check "all policies, every preset has a name" $simulate --policy all --preset large --servers 4 $plain --duration 5 \
    --out "$work/l"
for word in least_time prequal equalise gsq; do says "all" "$word"; done
case $output in *learned*|*choose*) fail "all" "has policies that need a controller" ;; *) pass ;; esac
for p in seed4-a seed4-b degraded; do
    check "$p" $simulate --quiet --preset $p --policy sed $plain --duration 5 --guards off --out "$work/p"
done

cat >"$work/events.csv" <<'END'
time_s,event,server,value
# a server that fails, heals, leaves and comes back
2,speed,4,0.25
4,back,4,
5,fail,0,1
8,back,0,
9,leave,1
12,join,1,
14,rate,,1.3
END
check "events" $simulate $plain --duration 20 --policy sed --load 0.6 --events "$work/events.csv" --out "$work/e"
says "events" '7 from'
if awk -F, 'NR > 1 && $4 > 5 && $4 <= 6 { lost += $7 } END { exit !(lost > 0) }' "$work/e/series.csv"; then pass
else fail "events" "a server that fails all it gets loses nothing"; fi

check "more than the servers can do" $simulate $small --no-pictures --policy sed --load 1.1 --out "$work/o"
says "more than the servers can do" '110.0 % of what the servers can do'

# ---- recorded arrivals ---------------------------------------------------------------------------------------------

traces=../shared/traces
if [ -r $traces/azure_llm_2023_conv.csv ]; then
    for t in azure_llm_2023_conv.csv poisson_for_loop/rate_350.csv poisson_for_loop/rate_400.csv; do
        check "$t" $simulate --policy sed,wcmp $plain --duration 5 --trace $traces/$t --out "$work/t"
        says "$t" "requests, the same for every seed"
        schema simulate "$work/t/results.json"
    done
    check "counts" $simulate --policy sed $plain --duration 20 --load 0.4 --warmup 0 \
        --trace $traces/nab/elb_request_count_8c0756.csv --out "$work/t"
    says "counts" "4032 rates"
    # 4,032 counts in 20 s: as many flows as asked for, and a rush where the file has one.
    if awk -F, 'NR > 1 { sum += $6; if ($6 > most) most = $6 }
                END { m = sum / (NR - 1); exit !(m > 310 && m < 360 && most > 1.5 * m) }' "$work/t/series.csv"
    then pass
    else fail "counts" "not the rates of the file"; fi
else
    skip "recorded arrivals" "$traces is not there"
fi

# ---- wrong input ---------------------------------------------------------------------------------------------------

no="$simulate --quiet --out $work/no"
one_line 2 "--preset: no 'seed4' here; did you mean seed4-a?" $no --preset seed4
one_line 2 "there are sed, nq, lsq" $no --policy sedd
one_line 2 "did you mean 'sed'" $no --policy lsq,sedd
one_line 2 "choose needs a controller" $no --policy choose
one_line 1 "$work/none: No such file" $no --policy "learned($work/none)"
head -c 100 /dev/zero >"$work/zero"
one_line 1 "$work/zero: is no whole model file" $no --policy "sed,learned($work/zero)"
one_line 2 "'draw(0,1,1)' is not draw(d,a,gamma)" $no --policy "draw(0,1,1)"
one_line 2 "is not draw" $no --policy "draw(3,1"
one_line 2 "is not draw" $no --policy "draw(2.5,1,1)"
one_line 2 "is not equalise" $no --policy "equalise(fair)"
one_line 2 "sed has no numbers" $no --policy "sed(3)"
one_line 2 "empty name" $no --policy "sed,,lsq"
one_line 2 "--load: has no use with --rate" $no --rate 100 --load 0.5
one_line 2 "--round: has no use without --trace" $no --round 10
one_line 2 "--rate" $no --rate 0
one_line 2 "--balancers" $no --balancers 1025
one_line 2 "--seeds" $no --seeds 0
one_line 2 "--warmup" $no --warmup 1
one_line 2 "--duration" $no --duration 1e6 --rate 1e4
one_line 2 "--seeds: 24000 runs" $no --seeds 4000 --policy sed,lsq,nq --balancers 1,2
one_line 2 "--guards" $no --guards maybe

printf 'time_s,event,server,value\n5,sped,1,0.5\n' >"$work/typo"
one_line 1 "typo:2: no event is called 'sped'; there are speed, fail, back, join, leave, rate" $no --events "$work/typo"
printf 'time_s,event,server,value\n5,speed,1,0.5\n\n4,back,1,\n' >"$work/order"
one_line 1 "order:4: time 4 s comes after 5 s" $no --events "$work/order"
printf 'time,event,server,value\n5,speed,1,0.5\n' >"$work/heading"
one_line 1 "heading:1: the heading is not" $no --events "$work/heading"
printf 'time_s,event,server,value\n5,speed,7,0.5\n' >"$work/server"
one_line 1 "server:2: '7' is not a server; they are 0 to 6" $no --events "$work/server"
printf 'time_s,event,server,value\n5,speed,1,-1\n' >"$work/value"
one_line 1 "value:2: speed wants a value" $no --events "$work/value"
printf 'time_s,event,server,value\n' >"$work/none"
one_line 1 "none: no events" $no --events "$work/none"
one_line 1 "nowhere" $no --events "$work/nowhere"
printf 'time_s,event,server,value\n5,back,1,\n\0006,back,1,\n' >"$work/zero"
one_line 1 "zero: it holds zero bytes" $no --events "$work/zero"

printf 'time,work\n1,2\n3,2\n2,2\n' >"$work/back"
one_line 1 "back:4:" $no --trace "$work/back"
printf 'a,b,c\n1,2,3\n' >"$work/columns"
one_line 1 "columns:1:" $no --trace "$work/columns"
one_line 1 "nowhere" $no --trace "$work/nowhere"
printf 'time,work\n1,2\n3,2\n' >"$work/requests"
one_line 2 "--round:" $no --trace "$work/requests" --round 5
if [ -e "$work/no" ]; then fail "wrong input" "leaves a folder"; else pass; fi

# ---- stopped half-way ----------------------------------------------------------------------------------------------

: >"$work/file"
check_status 1 "--out is a file" $simulate --quiet --seeds 1 --duration 1 --out "$work/file"

stop() # signal, status
{
    rm -rf "$work/s"
    $simulate --seeds 400 --duration 600 --jobs 2 --out "$work/s" >"$work/s.out" 2>&1 &
    pid=$!
    sleep 0.5
    kill -"$1" "$pid"
    wait $pid 2>/dev/null
    got=$?
    if [ $got -eq "$2" ]; then pass; else fail "stopped by $1" "exit status $got: $(cat "$work/s.out")"; fi
    left=$(find "$work/s" -type f 2>/dev/null)
    if [ -z "$left" ]; then pass; else fail "stopped by $1" "left behind: $left"; fi
}
stop TERM 143
if grep -q 'stopped with [0-9]* of 2000 runs done' "$work/s.out"; then pass
else fail "stopped" "$(cat "$work/s.out")"; fi
stop KILL 137
tries=0 # the processes of its runs notice within moments
while ! $simulate $small --no-pictures --policy sed --out "$work/s" >"$work/s.out" 2>&1 && [ $tries -lt 100 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
there "after a kill" "$work/s/results.json"
finish
