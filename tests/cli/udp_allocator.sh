#!/bin/sh
# The allocator between real processes: senders stick or do not, replies return, a client goes under traffic and little
# is lost, floods, wrong options, twice on one port, killed and started again.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

allocator=build/udp/allocator traffic=build/udp/traffic
if [ ! -x $allocator ]; then
    skip "udp_allocator" "$allocator is not built (libcurl, cJSON)"
    finish
fi

check "--help" $allocator --help
for word in --listen --sticky --replies --flows --clients --policy --model --source --status --window '[4096]' \
    'Exit status'; do says "--help" "$word"; done
clients=127.0.0.1:9
one_line 2 "--clients: is missing" $allocator
one_line 2 "--clients" $allocator --clients nonsense
one_line 2 "--listen: '127.0.0.1' has no port" $allocator --clients $clients --listen 127.0.0.1
one_line 2 "--listen: 'host:5' is no address" $allocator --clients $clients --listen host:5
one_line 2 "--listen: '127.0.0.1:65536' has no port" $allocator --clients $clients --listen 127.0.0.1:65536
one_line 2 "--flows" $allocator --clients $clients --flows 0
one_line 2 "--window" $allocator --clients $clients --window nan
one_line 2 "--sticky" $allocator --clients $clients --sticky both
one_line 2 "--policy: 'best'" $allocator --clients $clients --policy best
one_line 2 "--policy: 'choose'" $allocator --clients $clients --policy choose
one_line 2 "--policy: longer than" $allocator --clients $clients --policy "$(printf '%040d' 0)"
one_line 2 "--source: policy model" $allocator --clients $clients --policy model --model none
one_line 2 "--source" $allocator --clients $clients --source telepathy
one_line 2 "--fallback" $allocator --clients $clients --fallback maglev
one_line 2 "--database: has control" $allocator --clients $clients --database "$(printf 'a\nb')"
one_line 2 "--nonsense" $allocator --clients $clients --nonsense
one_line 1 "listen: [2001:db8::1]:0" $allocator --clients $clients --listen '[2001:db8::1]:0'

holds() # name, number, relation, number
{
    if awk -v a="$2" -v b="$4" "BEGIN { exit !(a $3 b) }"; then pass; else fail "$1" "not $2 $3 $4"; fi
}

started=''
stop_all()
{
    for p in $started; do kill "$p" 2>/dev/null; done
    for p in $started; do wait "$p" 2>/dev/null; done
    started=''
}
trap 'stop_all; rm -rf "$work"' EXIT

line_of() # file, how the line begins: what follows, when it is there
{
    tries=0
    while [ $tries -lt 250 ] && ! grep -q "^$2" "$1" 2>/dev/null; do
        sleep 0.02
        tries=$((tries + 1))
    done
    sed -n "s/^$2//p" "$1"
}

# ---- twice on one port -----------------------------------------------------------------------------------------------

$allocator --clients $clients >"$work/out" 2>&1 &
pid=$! started="$started $pid"
at=$(line_of "$work/out" 'listening on ')
one_line 1 "Address already in use" $allocator --clients $clients --listen "$at"
kill -9 $pid
wait $pid 2>/dev/null
rm -f "$work/out"
$allocator --clients $clients --listen "$at" >"$work/out" 2>&1 &
pid=$! started="$started $pid"
again=$(line_of "$work/out" 'listening on ')
if [ "$again" = "$at" ]; then pass; else fail "again on its port" "$(cat "$work/out")"; fi
kill $pid
wait $pid
holds "SIGTERM: status" $? '==' 0

# ---- between sockets -------------------------------------------------------------------------------------------------

if have python3; then
    python3 -S -E tests/cli/udp_allocator.py $allocator "$work" >"$work/checks" 2>&1
    holds "python: ends well" $? '==' 0
    passed=$((passed + $(grep -c '^ok ' "$work/checks")))
    failed=$((failed + $(grep -c '^FAILED ' "$work/checks")))
    grep -v '^ok ' "$work/checks"
    holds "python: all its checks" "$(grep -c '^ok \|^FAILED ' "$work/checks")" '>=' 30
else
    skip "udp_allocator" "python3 is not installed"
fi

# ---- a client goes under traffic, counted by sequence numbers --------------------------------------------------------

# Three clients, each a process: $who, $sink0 to $sink2.
start_sinks()
{
    who=''
    for i in 0 1 2; do
        rm -rf "$work/sink$i.out" "$work/sink$i"
        $traffic --sink 0 --out "$work/sink$i" --duration 30 --quiet >"$work/sink$i.out" 2>&1 &
        eval "sink$i=\$!"
        started="$started $!"
        line_of "$work/sink$i.out" ready >/dev/null
        who="$who,$(sed -n 's/^client [^ ]* //p' "$work/sink$i.out")"
    done
    who=${who#,}
}

merge() # of which traffic: $sent, $lost, $reordered
{
    kill "$sink0" "$sink1" "$sink2" 2>/dev/null
    wait "$sink0" "$sink1" "$sink2" 2>/dev/null
    $traffic --merge "$work/$1,$work/sink0,$work/sink1,$work/sink2" >"$work/merged" 2>&1
    sent=$(sed -n 's/.*sent \([0-9]*\) .*/\1/p' "$work/merged")
    lost=$(sed -n 's/.* lost \([0-9]*\) .*/\1/p' "$work/merged")
    reordered=$(sed -n 's/.* reordered \([0-9]*\).*/\1/p' "$work/merged")
}

forward() # name, seconds after which a client goes (0: none does), options
{
    name=$1 goes=$2
    shift 2
    start_sinks
    rm -f "$work/out"
    $allocator --clients "$who" --status "$work/status" "$@" >"$work/out" 2>&1 &
    pid=$! started="$started $pid"
    at=$(line_of "$work/out" 'listening on ')
    $traffic --to "$at" --rate 3000 --senders 60 --duration 2 --seed 4 --out "$work/$name" --quiet >"$work/sent" 2>&1 &
    sending=$!
    if [ "$goes" != 0 ]; then
        sleep "$goes"
        kill "$sink2" # it writes what it has, and its port is closed
    fi
    wait $sending
    holds "$name: traffic" $? '==' 0
    sleep 0.1
    kill $pid
    wait $pid
    holds "$name: everything was sent" "$(sed -n 's/^rllb_udp_sent_total //p' "$work/status")" '==' \
        "$(sed -n 's/^rllb_udp_received_total //p' "$work/status")"
    merge "$name"
    holds "$name: there was traffic" "${sent:-0}" '>=' 4000
}

if [ -x $traffic ]; then
    forward flow 0
    holds "flow: nothing is lost" "${lost:--1}" '==' 0
    holds "flow: in order" "${reordered:--1}" '==' 0
    forward goes_flow 0.7
    # What lay in its queue, and what was sent until word of that came: on a busy machine a tenth of a second or two.
    # Without rerouting it would be a third of the second half, a thousand.
    holds "goes_flow: few of $sent are lost" "${lost:-99999}" '<=' 400
    forward goes_datagram 0.7 --sticky datagram --replies=no --window 0.05
    holds "goes_datagram: few of $sent are lost" "${lost:-99999}" '<=' 400
else
    skip "udp_allocator: under traffic" "$traffic is not built"
fi
finish
