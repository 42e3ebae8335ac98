#!/bin/sh
# The experiment over HTTP, small: from processes to files; the same arrivals and demands for every policy; one that is
# stopped or killed half-way leaves no process; a part that ends early or is not there, and wrong input, are one line.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/family.inc

experiment=build/http/experiment
for program in experiment backend load proxy; do
    if [ ! -x build/http/$program ]; then
        skip "http_experiment" "build/http/$program is not built: libuv and http-parser are not installed"
        finish
    fi
done

check "--help" $experiment --help
for word in --host --parts --policies --repeats --requests --learn --seconds --quick --resume --bin --out \
    '[out/http]'; do
    says "--help" "$word"
done

# ---- wrong input -----------------------------------------------------------------------------------------------------

no="$experiment --quiet --out $work/no"
one_line 2 "--policies: no 'lsqq' here; there are q_learning, sed, nq, lsq" $no --policies lsqq
one_line 2 "--policies: no '' here" $no --policies lsq,
one_line 2 "--policies: lsq is there twice" $no --policies lsq,sed,lsq
one_line 2 "--parts" $no --parts four
one_line 2 "--host" $no --host apache
one_line 2 "--requests" $no --requests 9
one_line 2 "--seconds" $no --seconds 1
one_line 2 "--repeats" $no --repeats 0
one_line 1 "$work/none/backend: No such file" $no --bin "$work/none"
if [ -e "$work/no" ]; then fail "wrong input" "leaves a folder"; else pass; fi

# A load that fails, a proxy that does: what it said is in the one line, and nothing goes on.
mkdir "$work/bin"
for program in backend load proxy; do ln -s "$PWD/build/http/$program" "$work/bin/$program"; done
fake() # program, what it does
{
    rm "$work/bin/$1"
    printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
small="--quick --parts three --requests 10 --learn 5 --rate 50 --policies round_robin,sed,q_learning"
fake load 'echo "load: it does not want to" >&2; exit 3'
one_line 1 "load ended with status 3; load: it does not want to" $experiment $small --quiet --bin "$work/bin" \
    --out "$work/f"
fake proxy 'echo "listening on nothing"; exec sleep 5'
one_line 1 "proxy: no port in 'listening on nothing'" $experiment $small --quiet --bin "$work/bin" --out "$work/f"
left=$(find "$work/f" -type f ! -name settings.json)
if [ -z "$left" ]; then pass; else fail "a part that fails" "left behind: $left"; fi

# ---- a run -----------------------------------------------------------------------------------------------------------

check "a run" $experiment $small --out "$work/a"
for word in 'three_closed: Three servers as described' 'round_robin' 'sed' 'q_learning' 'shares %' \
    "Q-learning's mean latency at least 15 % below" 'lost: not answered 2xx'; do
    says "a run" "$word"
done
there "a run" "$work/a/summary_report.md" "$work/a/results.json" "$work/a/comparison_results.json" \
    "$work/a/request_logs.csv" "$work/a/latency_over_time.png" "$work/a/throughput_comparison.png" \
    "$work/a/server_utilization.png" "$work/a/learning_curve.png" "$work/a/latency_distribution.png" \
    "$work/a/comparison_summary.png" "$work/a/runs/slot_open/q_learning-1.csv"
schema http_experiment "$work/a/results.json"
schema http_comparison "$work/a/comparison_results.json"
left=$(find "$work/a" -name '*.half' -o -name '*.said' -o -name '*.load' -o -name '*.part')
if [ -z "$left" ]; then pass; else fail "a run" "left behind: $left"; fi

# Four scenes of three policies of 15 requests, each of which got an answer.
if awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "status") s = i; next } { n++; ok += $s == 200 }
            END { exit !(n == 180 && ok == 180) }' "$work/a/request_logs.csv"
then pass; else fail "request_logs.csv" "not 180 requests that were answered well"; fi

columns() { # file, names: when requests were due, and what they asked
    awk -F, -v names="$2" 'NR == 1 { n = split(names, want, " "); for (i = 1; i <= NF; i++) at[$i] = i; next }
                           { line = ""; for (i = 1; i <= n; i++) line = line " " $at[want[i]]; print line }' "$1" | sort
}

# Delays are waited for: round robin's client has 75 ms, and SED's 50, since told all of it SED asks the fastest alone.
# Never less, and more on a busy machine.
mean_of() # scene, policy
{
    sed -n "s/.*\"scene\": \"$1\", \"policy\": \"$2\".*\"mean_ms\": \([0-9.]*\).*/\1/p" "$work/a/results.json"
}
if awk -v rr="$(mean_of three_closed round_robin)" -v sed="$(mean_of three_closed sed)" \
    'BEGIN { exit !(rr >= 70 && sed >= 50) }'
then pass; else fail "means" "$(mean_of three_closed round_robin), SED $(mean_of three_closed sed)"; fi
asked() # policy: how many of its requests in three_closed each server got
{
    columns "$work/a/runs/three_closed/$1-1.csv" server |
        awk 'NF { n[$1]++ } END { print n["s0"] + 0, n["s1"] + 0, n["s2"] + 0 }'
}
if [ "$(asked round_robin)" = "5 5 5" ]; then pass; else fail "round robin" "asks $(asked round_robin)"; fi
if [ "$(asked sed | cut -d ' ' -f 1)" -ge 12 ]; then pass; else fail "SED" "asks $(asked sed)"; fi

same_requests() # folder of a scene
{
    a=$(columns "$1/sed-1.csv" 'time_s work_ms')
    if [ -n "$a" ] && [ "$a" = "$(columns "$1/round_robin-1.csv" 'time_s work_ms')" ]; then pass
    else fail "$1" "policies do not meet the same arrivals and demands"; fi
}
same_requests "$work/a/runs/three_open"

before=$(cat "$work/a/runs/three_open/sed-1.csv")
check "--resume, another part" $experiment --quick --parts three,farm --requests 10 --learn 5 --rate 50 --seconds 2 \
    --policies round_robin,sed --quiet --resume --out "$work/a"
if [ "$before" = "$(cat "$work/a/runs/three_open/sed-1.csv")" ]; then pass; else fail "--resume" "runs again"; fi
same_requests "$work/a/runs/farm_640"
one_line 1 "made with other options" $experiment $small --quiet --resume --seed 2 --out "$work/a"

# ---- stopped half-way ------------------------------------------------------------------------------------------------

stopped() # signal, status
{
    $experiment --quick --parts three --policies round_robin,lsq --out "$work/s" >"$work/s.out" 2>&1 &
    pid=$!
    tries=0
    while [ "$(family $pid | wc -l)" -lt 36 ] && [ $tries -lt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    all=$(family $pid)
    if [ "$(echo "$all" | wc -l)" -ge 36 ]; then pass
    else fail "stopped by $1" "did not begin: $(cat "$work/s.out")"; fi
    kill -"$1" $pid
    wait $pid 2>/dev/null
    got=$?
    if [ $got -eq "$2" ]; then pass; else fail "stopped by $1" "exit status $got: $(cat "$work/s.out")"; fi
    tries=0
    while [ -n "$(alive $all)" ] && [ $tries -lt 400 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    if [ -z "$(alive $all)" ]; then pass; else fail "stopped by $1" "processes are left: $(alive $all)"; fi
}
if [ -r /proc/self/stat ]; then
    stopped KILL 137
    stopped TERM 143
    if grep -q 'stopped with [0-9]* of 12 cells of three done' "$work/s.out"; then pass
    else fail "stopped" "$(cat "$work/s.out")"; fi
    left=$(find "$work/s" -type f ! -name settings.json ! -name '*.csv')
    if [ -z "$left" ]; then pass; else fail "stopped" "left behind: $left"; fi
else
    skip "stopped half-way" "no /proc to look for processes in"
fi
finish
