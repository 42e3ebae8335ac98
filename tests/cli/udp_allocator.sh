#!/bin/sh
# The allocator between real processes: senders stick or do not, replies return, a client goes under traffic and little
# is lost, floods, wrong options, twice on one port, killed and started again.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/udp.inc

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
    await in_file "^$2" "$1"
    sed -n "s/^$2//p" "$1"
}

# ---- twice on one port -----------------------------------------------------------------------------------------------

# On a port that the kernel gives to nobody else meanwhile, where one can be had.
if have python3; then
    python3 -S -E tests/cli/ports.py 1 >"$work/ports" 2>&1 &
    started="$started $!"
    await test -s "$work/ports"
fi
$allocator --clients $clients --listen "127.0.0.1:$(cat "$work/ports" 2>/dev/null || echo 0)" >"$work/out" 2>&1 &
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
        $traffic --sink 0 --out "$work/sink$i" --duration 600 --quiet >"$work/sink$i.out" 2>&1 &
        eval "sink$i=\$!"
        started="$started $!"
        line_of "$work/sink$i.out" ready >/dev/null
        who="$who,$(sed -n 's/^client [^ ]* //p' "$work/sink$i.out")"
    done
    who=${who#,}
}

forward() # name, seconds after which a client goes (0: none does), options: sets sent, lost (by us), reordered
{
    name=$1 goes=$2
    shift 2
    start_sinks
    rm -f "$work/out"
    drops_before=$(kernel_drops)
    $allocator --clients "$who" --status "$work/status" "$@" >"$work/out" 2>&1 &
    pid=$! started="$started $pid"
    at=$(line_of "$work/out" 'listening on ')
    $traffic --to "$at" --rate 3000 --senders 60 --duration 2 --seed 4 --out "$work/$name" --quiet >"$work/sent" 2>&1 &
    sending=$!
    if [ "$goes" != 0 ]; then
        sleep "$goes"
        kill "$sink2" # it takes in what has come, and from then on its port refuses
    fi
    wait $sending
    holds "$name: traffic" $? '==' 0
    await nothing_waits "${at##*:}"
    kill $pid
    wait $pid
    kill "$sink0" "$sink1" "$sink2" 2>/dev/null
    wait "$sink0" "$sink1" "$sink2" 2>/dev/null
    $traffic --merge "$work/$name,$work/sink0,$work/sink1,$work/sink2" >"$work/merged" 2>&1
    sent=$(merged sent) reordered=$(merged reordered)
    holds "$name: there was traffic" "$sent" '>=' 4000
    received=$(counted received_total)
    holds "$name: all of it was received, but for what the kernel threw away" $((sent - received)) '<=' \
        $(($(kernel_drops) - drops_before))
    holds "$name: everything was sent" \
        $(($(counted sent_total) + $(counted dropped_total) + $(counted no_client_total))) '==' "$received"
    lost=$(($(merged lost) - (sent - received) - $(merged dropped)))
    holds "$name: nothing twice" "$(merged duplicates)" '==' 0
}
merged() { awk -v word="$1" '{ for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }' "$work/merged"; }
counted() { sed -n "s/^rllb_udp_$1 //p" "$work/status"; }

if [ -x $traffic ]; then
    forward flow 0
    holds "flow: nothing is lost" "$lost" '<=' 0
    holds "flow: in order" "$reordered" '==' 0
    # What was sent until word of that came, and could not be sent anew. Without rerouting it would be a third of the
    # second half, a thousand.
    forward goes_flow 0.7
    holds "goes_flow: few of $sent are lost" "$lost" '<=' 400
    forward goes_datagram 0.7 --sticky datagram --replies=no --window 0.05
    holds "goes_datagram: few of $sent are lost" "$lost" '<=' 400
else
    skip "udp_allocator: under traffic" "$traffic is not built"
fi
finish
