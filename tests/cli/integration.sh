#!/bin/sh
# `make integration`, small: the experiment over HTTP with a real nginx and a real HAProxy in the place of our proxy;
# told weights get there, what is killed and restarted is counted, processor time is measured; killed half-way, it
# leaves no process, not even nginx's workers; a host that is missing is one line.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/http.inc
. tests/cli/family.inc

PATH=$PATH:/usr/sbin
experiment=build/http/experiment
for program in experiment backend load; do
    if [ ! -x build/http/$program ]; then
        skip integration "build/http/$program is not built: libuv and http-parser are not installed"
        finish
    fi
done

# ---- what is missing -------------------------------------------------------------------------------------------------

check_status 1 "nothing there" $experiment --host nginx,haproxy --module "$work/none" --companion "$work/none" --quick \
    --out "$work/none"
for host in nginx haproxy; do
    if have $host; then says "nothing there" "$host: skipped: $work/none is not there: make "
    else says "nothing there" "$host: skipped: $host is not installed"; fi
done
says "nothing there" "none of the parts that were asked for can run here"

hosts=
if ! have nginx; then skip "integration of nginx" "nginx is not installed"
elif [ ! -e build/nginx/ngx_http_rllb_module.so ]; then
    skip "integration of nginx" "the module is not built: make nginx-module, which needs nginx-dev"
else hosts=nginx; fi
if ! have haproxy; then skip "integration of HAProxy" "haproxy is not installed"
elif [ ! -x build/haproxy/companion ]; then skip "integration of HAProxy" "build/haproxy/companion is not built"
else hosts=$hosts${hosts:+,}haproxy; fi
if [ -z "$hosts" ]; then finish; fi

# ---- a run -----------------------------------------------------------------------------------------------------------

# The value of a key in the row of a scene and a policy.
value() # folder, scene, policy, key
{
    sed -n "s/.*\"scene\": \"$2\", \"policy\": \"$3\".*\"$4\": \([^,}]*\).*/\1/p" "$1/results.json"
}

# Requests that were due from then on and failed; what takes more than ten seconds on a busy machine is not lost.
lost() # log, from when
{
    awk -F, -v from="$2" 'NR > 1 && $1 >= from && $NF != "ok" && $NF != "timeout" { n++ } END { print n + 0 }' "$1"
}

check "a run" $experiment --host $hosts --quick --parts degraded,lost --seconds 3 --out "$work/a"
said=$output
says "a run" "takes about"
says "a run" "degraded 4.0 s, lost 4.0 s"
there "a run" "$work/a/summary_report.md" "$work/a/comparison_results.json" "$work/a/request_logs.csv" \
    "$work/a/latency_over_time.png"
schema integration "$work/a/results.json"
schema http_comparison "$work/a/comparison_results.json"
left=$(find "$work/a" -name '*.half' -o -name '*.said' -o -name '*.load' -o -name '*.host' -o -name '*.part')
if [ -z "$left" ]; then pass; else fail "a run" "left behind: $left"; fi

of_host() # host, base, learned
{
    there "$1" "$work/a/healing_$1.png" "$work/a/runs/$1_degraded_2/$3-1.csv"
    output=$said
    says "$1" "$1_degraded_1: "
    says "$1" "$3's P99 at most 10 % above that of"
    holds "$1: hardly a request is lost" "$(lost "$work/a/runs/$1_degraded_1/$2-1.csv" 0)" '<' 3
    for policy in "$2" "$3"; do
        for event in 1 2 3; do
            holds "$1, $policy: requests around event $event" \
                "$(value "$work/a" $1_lost "$policy" "event_${event}_sent")" '>' 50
        done
    done
    says "$1" "with $3 no more failed requests than with $2"
}
case $hosts in *nginx*)
    of_host nginx least_conn learned
    # A fifth of the requests would fail.
    holds "nginx: a killed backend is noticed" "$((10 * $(lost "$work/a/runs/nginx_lost/learned-1.csv" 1.3)))" '<' \
        "$(value "$work/a" nginx_lost learned event_3_sent)" ;;
esac
case $hosts in *haproxy*)
    of_host haproxy leastconn companion
    # While it is not there nobody answers.
    holds "HAProxy: a restart is seen" "$(($(value "$work/a" haproxy_lost leastconn event_2_lost) +
        $(value "$work/a" haproxy_lost companion event_2_lost)))" '>' 0
    check "cost and equal servers" $experiment --host haproxy --quick --parts equal,cost --seconds 2 --out "$work/b"
    said=$output
    there "cost and equal servers" "$work/b/equal.png"
    schema integration "$work/b/results.json"
    output=$said
    says "cost" "the companion has at most 2 % of a core at 10000 requests a second"
    holds "requests are served" "$(value "$work/b" haproxy_cost leastconn throughput_per_s)" '>' 0
    holds "HAProxy has processor time" "$(value "$work/b" haproxy_cost leastconn requests_per_processor_s)" '>' 0
    holds "so has its companion" "$(value "$work/b" haproxy_cost companion companion_percent)" '>' 0
    says "equal servers" "companion's shares equal within 5 % in every run" ;;
esac

# ---- killed half-way -------------------------------------------------------------------------------------------------

if [ ! -r /proc/self/stat ]; then
    skip "killed half-way" "no /proc to look for processes in"
    finish
fi
# What is told is in the settings of the cells that were killed: capacities, of which the greatest is 100 or 256.
settings() { echo "$work/degraded/runs/$1_degraded_1/$2-1-0.host/$3"; }
written()
{
    case $1,$hosts in degraded,*nginx*) [ -s "$(settings nginx sed+told nginx.conf)" ] || return 1 ;; esac
    case $1,$hosts in degraded,*haproxy*) [ -s "$(settings haproxy leastconn+told haproxy.cfg)" ] || return 1 ;; esac
}
begun() # part
{
    { [ "$(find "$work/$1/runs" -name '*load*.said' 2>/dev/null | wc -l)" -ge 2 ] && written "$1" &&
        [ "$(family $pid | wc -l)" -ge 12 ]; } || ! kill -0 $pid 2>/dev/null
}
gone() { [ -z "$(alive $all)" ]; }
killed() # part
{
    $experiment --host $hosts --quick --parts "$1" --seconds 20 --out "$work/$1" >"$work/s.out" 2>&1 &
    pid=$!
    await begun "$1"
    all=$(family $pid)
    if [ "$(echo "$all" | wc -l)" -ge 12 ]; then pass
    else fail "$1, killed half-way" "did not begin: $all: $(cat "$work/s.out")"; fi
    kill -KILL $pid
    wait $pid 2>/dev/null
    if await gone; then pass; else fail "$1, killed half-way" "processes are left: $(alive $all)"; fi
}
told() # host, policy, file, weights
{
    found=$(sed -n 's/^ *server .*weight[= ]\([0-9]*\).*/\1/p' "$(settings "$1" "$2" "$3")" | tr '\n' ' ')
    if [ "$found" = "$4" ]; then pass; else fail "$1, $2: weights" "'$found', should be '$4'"; fi
}
killed lost
killed degraded
case $hosts in *nginx*) told nginx sed+told nginx.conf '15 50 50 50 30 100 100 ' ;; esac
case $hosts in *haproxy*) told haproxy leastconn+told haproxy.cfg '38 128 128 128 77 256 256 ' ;; esac
finish
