#!/bin/sh
# What the proxy of examples/http costs, beside nginx and HAProxy where they are installed.
#
#     sh bench/http.sh [--out DIR] [--rounds N] [--seconds S]          (make build/http/proxy build/http/backend
#                                                                       build/http/load first)
# One backend process with three servers that answer at once, and each proxy before it in turn, N rounds (default 5)
# of S seconds (2); a proxy is one thread, bound to the last processor, and keeps connections on both sides. Figures
# are medians over the rounds. Rows, and with --out the lines of DIR/results.jsonl, are those of bench.h:
#     http_NAME_rate       requests a second that wrk gets over 32 connections. The load and the servers share the
#                          machine with the proxy, so this is what such a machine as a whole does
#     http_NAME_core       requests a second of the proxy's own processor time, by /proc/PID/schedstat: what one core
#                          does that has nothing else to do. Limit for ours: the goal of 20,000; and for nginx and
#                          HAProxy the ratio of ours to theirs is the row http_over_NAME, paired by round
#     http_NAME_added_p50  microseconds of added latency: the median through the proxy less that without, open loop at
#                          500 requests a second, in the same round. Goal: 100
# What is missing is left out with a line that says so. Needs Linux for the processor's time.

cd "$(dirname "$0")/.." || exit 1
me=http.sh rounds=5 seconds=2
. bench/common.inc
needs http/proxy http/backend http/load
if ! have wrk; then echo "http.sh: skipped: wrk is not installed"; exit 0; fi

last=$(($(getconf _NPROCESSORS_ONLN) - 1))
bind=
if have taskset; then bind="taskset -c $last"; fi

build/http/backend --servers 3x64 --name s >"$work/backend" 2>&1 &
pids="$pids $!"
ready "$work/backend" '^ready'
servers=$(sed -n 's/^server [^ ]* //p' "$work/backend")
direct=$(echo "$servers" | head -n 1)

set --
i=0
for s in $servers; do
    set -- "$@" --server "s$i $s"
    i=$((i + 1))
done
$bind build/http/proxy --listen 127.0.0.1:0 --admin off --clients 1000 --policy lsq "$@" >"$work/ours" 2>&1 &
ours_pid=$!
pids="$pids $ours_pid"
ready "$work/ours" '^listening'
ours_at=$(sed -n 's/^listening on //p' "$work/ours")
names=ours

# Two ports that were free a moment ago.
build/http/backend --servers 2x1 >"$work/ports" 2>&1 &
ports_pid=$!
ready "$work/ports" '^ready'
kill $ports_pid
wait $ports_pid 2>/dev/null
ports=$(sed -n 's/^server .*://p' "$work/ports")

if have nginx; then
    port=$(echo "$ports" | head -n 1)
    {
        echo "worker_processes 1; daemon off; master_process off; pid $work/nginx.pid; error_log stderr crit;"
        echo "events { worker_connections 2000; }"
        echo "http { access_log off; keepalive_requests 100000000;"
        for d in client_body proxy fastcgi uwsgi scgi; do echo "${d}_temp_path $work;"; done
        echo "upstream u { least_conn; keepalive 64; keepalive_requests 100000000;"
        for s in $servers; do echo "server $s;"; done
        echo "} server { listen 127.0.0.1:$port; location / { proxy_pass http://u; proxy_http_version 1.1;"
        echo "proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For \$remote_addr; } } }"
    } >"$work/nginx.conf"
    $bind nginx -e stderr -p "$work" -c "$work/nginx.conf" >"$work/nginx" 2>&1 &
    nginx_pid=$! nginx_at=127.0.0.1:$port
    pids="$pids $nginx_pid"
    names="$names nginx"
else echo "nginx is not installed: its rows are left out"
fi
if have haproxy; then
    port=$(echo "$ports" | tail -n 1)
    {
        echo "global"
        echo "    nbthread 1"
        echo "defaults"
        echo "    mode http"
        echo "    option forwardfor"
        echo "    http-reuse always"
        echo "    timeout connect 1s"
        echo "    timeout client 60s"
        echo "    timeout server 30s"
        echo "    maxconn 1000"
        echo "frontend f"
        echo "    bind 127.0.0.1:$port"
        echo "    default_backend b"
        echo "backend b"
        echo "    balance leastconn"
        i=0
        for s in $servers; do
            echo "    server s$i $s"
            i=$((i + 1))
        done
    } >"$work/haproxy.conf"
    $bind haproxy -db -f "$work/haproxy.conf" >"$work/haproxy" 2>&1 &
    haproxy_pid=$! haproxy_at=127.0.0.1:$port
    pids="$pids $haproxy_pid"
    names="$names haproxy"
else echo "haproxy is not installed: its rows are left out"
fi
sleep 1
for n in $names; do
    eval "pid=\$${n}_pid"
    if ! kill -0 "$pid" 2>/dev/null; then echo "http.sh: $n: does not begin" >&2; cat "$work/$n" >&2; exit 1; fi
done

cpu_ns() { cut -d ' ' -f 1 "/proc/$1/schedstat"; }

# Requests a second, of the clock and of the proxy's processor.
rate()
{
    before=$(cpu_ns "$2")
    wrk -t1 -c32 -d"$seconds"s "http://$3/" >"$work/wrk" 2>&1
    after=$(cpu_ns "$2")
    if grep -q 'Socket errors\|Non-2xx' "$work/wrk"; then
        echo "http.sh: $1: requests failed" >&2
        grep 'Socket errors\|Non-2xx' "$work/wrk" >&2
    fi
    awk -v name="$1" -v ns="$((after - before))" -v round="$round" '
        / requests in / { n = $1 }
        /^Requests\/sec/ { print round, name, "rate", $2; print round, name, "core", n / (ns * 1e-9) }' "$work/wrk"
}

p50()
{
    build/http/load --url "http://$2/" --rate 500 --duration "$seconds" --quiet --out "$work/load" >"$work/out" 2>&1
    sed -n 's/.*"latency_ms": *{[^}]*"p50": *\([0-9.]*\).*/\1/p' "$work/load/results.json" | head -n 1 |
        awk -v name="$1" -v round="$round" '{ print round, name, "p50", 1000 * $1 }'
}

round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    for n in $(turn); do
        eval "rate $n \$${n}_pid \$${n}_at"
    done
    p50 direct "$direct"
    for n in $(turn); do
        eval "p50 $n \$${n}_at"
    done
done >"$work/figures"

report "$work/figures" '
    END {
        count = split("ours nginx haproxy", names, " ")
        for (i = 1; i <= count; i++) {
            if (!((name = names[i]) in seen)) continue
            row("http_" name "_rate", middle(name, "rate"), "1/s", "")
            row("http_" name "_core", middle(name, "core"), "1/s", i == 1 ? 20000 : "")
            row("http_" name "_added_p50", middle(name, "p50", "direct"), "us", i == 1 ? 100 : "", 1)
            if (i > 1) row("http_over_" name, middle("ours", "core", "", name), "times", 1)
        }
        row("http_direct_p50", middle("direct", "p50"), "us", "")
    }'
