#!/bin/sh
# What the UDP allocator costs, beside nginx (stream module) and beside a forwarder that does nothing but copy.
#
#     sh bench/udp.sh [--out DIR] [--rounds N] [--seconds S]             (make build/udp/allocator build/udp/traffic
#                                                                         first; udp_copy is built here)
# Datagrams of 100 bytes from 8 senders over loopback, one way, each forwarder in turn, N rounds (default 5) of S
# seconds (1); a forwarder is bound to the last processor, generator and sink to the first. Figures are medians over
# the rounds. Rows, and with --out the lines of DIR/results.jsonl, are those of bench.h:
#     udp_NAME_rate       datagrams a second that arrive at the sink, of as many as the generator can send. They share
#                         the machine with the forwarder, so this is what such a machine as a whole does
#     udp_NAME_core       datagrams sent a second of the forwarder's own processor time, by /proc/PID/task/*/schedstat:
#                         what one core does that has nothing else to do. Sent: what came to the sink, and what its
#                         socket had no room for. Limit for ours: the goal of 500,000; the ratios of ours to the others'
#                         are the rows udp_over_NAME, paired by round
#     udp_NAME_core_many  the same with 500 senders: hardly two datagrams of one follow each other, and where each has a
#                         socket of its own there is little to be put together
#     udp_NAME_core_full  the same with 500 senders and more than it can do: generator and sink share a processor and
#                         seldom keep a forwarder busy, so this one is stopped for 30 ms in 60 and finds its port full
#     udp_NAME_busy_many  share of its processor that the forwarder used in _core_many
#     udp_NAME_added_p50  microseconds of added delay: the median at 50,000 a second through the forwarder less that
#                         without, in the same round. Goal: 20
# NAME: flow, the allocator with its defaults (a sender sticks to one of three clients by a socket of its own, as with
# nginx); datagram, --sticky datagram --replies=no (each to any of three); spin, flow with --busy 100, of which only the
# delay is of interest; nginx, with three servers; copy, to one.
# What is missing is left out with a line that says so. Needs Linux.

cd "$(dirname "$0")/.." || exit 1
me=udp.sh rounds=5 seconds=1
. bench/common.inc
PATH=$PATH:/usr/sbin
needs udp/allocator udp/traffic
${CC:-cc} -std=c99 -O3 bench/udp_copy.c -o build/udp_copy || exit 1

last=$(($(getconf _NPROCESSORS_ONLN) - 1))
there='' here=''
if have taskset; then there="taskset -c $last" here="taskset -c 0"; fi

# Four ports that are free, below those that the kernel gives out, since sinks leave theirs between measurements: three
# clients, and nginx.
port=$((20000 + $$ % 500 * 20)) tries=0
while :; do
    set -- $port $((port + 1)) $((port + 2)) $((port + 3))
    rm -f "$work/ports"
    build/udp/traffic --sink "$1,$2,$3,$4" --quiet >"$work/ports" 2>&1 &
    ports_pid=$!
    i=0
    until grep -q '^ready' "$work/ports" 2>/dev/null || [ $i -gt 100 ] || ! kill -0 $ports_pid 2>/dev/null; do
        i=$((i + 1))
        sleep 0.02
    done
    kill $ports_pid 2>/dev/null
    wait $ports_pid 2>/dev/null
    if grep -q '^ready' "$work/ports"; then break; fi
    port=$((20000 + (port + 20) % 10000)) tries=$((tries + 1))
    if [ $tries -gt 20 ]; then echo "udp.sh: no free ports" >&2; exit 1; fi
done
sinks=$1,$2,$3
clients=127.0.0.1:$1,127.0.0.1:$2,127.0.0.1:$3
direct_at=127.0.0.1:$1

names='flow datagram copy'
$there build/udp/allocator --clients "$clients" --policy lsq >"$work/flow" 2>&1 &
flow_pid=$!
$there build/udp/allocator --clients "$clients" --policy lsq --sticky datagram --replies=no >"$work/datagram" 2>&1 &
datagram_pid=$!
$there build/udp_copy "$1" >"$work/copy" 2>&1 &
copy_pid=$!
$there build/udp/allocator --clients "$clients" --policy lsq --busy 100 >"$work/spin" 2>&1 &
spin_pid=$!
pids="$flow_pid $datagram_pid $copy_pid $spin_pid"
for n in $names spin; do
    ready "$work/$n" '^listening'
    eval "${n}_at=\$(sed -n 's/^listening on //p' \"$work/$n\")"
done

modules=
for m in /usr/lib/nginx/modules/ngx_stream_module.so /usr/lib64/nginx/modules/ngx_stream_module.so; do
    if [ -f $m ]; then modules="load_module $m;"; fi
done
if have nginx; then
    {
        echo "$modules worker_processes 1; daemon off; master_process off; pid $work/nginx.pid; error_log stderr crit;"
        echo "events { worker_connections 4000; }"
        echo "stream { upstream u {"
        for p in "$1" "$2" "$3"; do echo "server 127.0.0.1:$p max_fails=0;"; done
        echo "} server { listen 127.0.0.1:$4 udp rcvbuf=8m; proxy_pass u; proxy_timeout 60s; } }"
    } >"$work/nginx.conf"
    $there nginx -e stderr -p "$work" -c "$work/nginx.conf" >"$work/nginx" 2>&1 &
    nginx_pid=$! nginx_at=127.0.0.1:$4
    sleep 0.5
    if kill -0 $nginx_pid 2>/dev/null; then
        pids="$pids $nginx_pid"
        names="$names nginx"
    else
        echo "nginx has no stream module (libnginx-mod-stream): its rows are left out"
    fi
else echo "nginx is not installed: its rows are left out"
fi

cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f", n }'; }

# Of the sink's results, over all clients: a number, by its name.
result() { tr -d '\n' <"$work/sink/results.json" | sed -n "s/.*\"all\": *{[^}]*\"$1\": *\([0-9.]*\).*/\1/p"; }

# Stops and continues the forwarder as long as the generator runs.
held=''
trap 'if [ -n "$held" ]; then kill -CONT "$held"; fi; end_all' EXIT
hold() # pid of the forwarder, of the generator
{
    held=$1
    while kill -0 "$2" 2>/dev/null; do
        kill -STOP "$1"
        sleep 0.03
        kill -CONT "$1"
        sleep 0.03
    done
    held=''
}

send() # to, rate, senders, pid of the forwarder to be held (or none): results in $work/sink
{
    rm -rf "$work/sink"
    $here build/udp/traffic --sink "$sinks" --gro=no --out "$work/sink" --quiet >"$work/sink.out" 2>&1 &
    sink_pid=$!
    ready "$work/sink.out" '^ready'
    $here build/udp/traffic --to "$1" --rate "$2" --size 100-100 --senders "$3" --duration "$seconds" --quiet \
        >"$work/traffic.out" 2>&1 &
    traffic_pid=$!
    if [ -n "$4" ]; then hold "$4" $traffic_pid; fi
    wait $traffic_pid
    sleep 0.3
    kill $sink_pid
    wait $sink_pid 2>/dev/null
}

rate() # name, pid, address, senders, what, pid to be held (or none)
{
    before=$(cpu_ns "$2")
    send "$3" 0 "$4" "$6"
    after=$(cpu_ns "$2")
    awk -v name="$1" -v round="$round" -v ns="$((after - before))" -v n="$(result received)" -v s="$seconds" \
        -v dropped="$(result dropped)" -v what="$5" '
        BEGIN { print round, name, "rate" what, n / s; print round, name, "core" what, (n + dropped) / (ns * 1e-9)
                print round, name, "busy" what, ns / (s * 1e9) }'
}

p50() # name, address
{
    send "$2" 50000 8
    echo "$round $1 p50 $(tr -d '\n' <"$work/sink/results.json" |
        sed -n 's/.*"all": *{.*"p50": *\([0-9.e-]*\).*/\1/p' | awk '{ print 1000 * $1 }')"
}

round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    for n in $(turn); do
        eval "rate $n \$${n}_pid \$${n}_at 8 ''"
        eval "rate $n \$${n}_pid \$${n}_at 500 _many"
        eval "rate $n \$${n}_pid \$${n}_at 500 _full \$${n}_pid"
    done
    p50 direct "$direct_at"
    for n in $(turn) spin; do
        eval "p50 $n \$${n}_at"
    done
done >"$work/figures"

report "$work/figures" '
    END {
        count = split("flow datagram nginx copy", names, " ")
        for (i = 1; i <= count; i++) {
            if (!((name = names[i]) in seen)) continue
            ours = i <= 2
            row("udp_" name "_rate", middle(name, "rate"), "1/s", "")
            row("udp_" name "_core", middle(name, "core"), "1/s", ours ? 500000 : "")
            row("udp_" name "_core_many", middle(name, "core_many"), "1/s", ours ? 500000 : "")
            row("udp_" name "_core_full", middle(name, "core_full"), "1/s", ours ? 500000 : "")
            row("udp_" name "_busy_many", middle(name, "busy_many"), "share", "")
            row("udp_" name "_added_p50", middle(name, "p50", "direct"), "us", ours ? 20 : "", 1)
        }
        row("udp_spin_added_p50", middle("spin", "p50", "direct"), "us", 20, 1)
        for (i = 3; i <= count; i++) {
            if (!((name = names[i]) in seen)) continue
            row("udp_flow_over_" name, middle("flow", "core", "", name), "times", 1)
            row("udp_datagram_over_" name, middle("datagram", "core", "", name), "times", 1)
            row("udp_flow_over_" name "_many", middle("flow", "core_many", "", name), "times", 1)
            row("udp_flow_over_" name "_full", middle("flow", "core_full", "", name), "times", 1)
        }
        row("udp_direct_p50", middle("direct", "p50"), "us", "")
    }'
