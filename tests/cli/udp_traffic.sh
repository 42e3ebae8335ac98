#!/bin/sh
# The program traffic: what is sent is what is counted; what a relay between drops, doubles, swaps and cuts is reported
# to the datagram; answers, slow clients, rates, traces; the same seed sends the same. Wrong input is one line.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/udp.inc

traffic=build/udp/traffic
if [ ! -x $traffic ]; then
    skip "udp_traffic" "build/udp/traffic is not built here"
    finish
fi
started=''
trap 'for p in $started; do kill -9 "$p" 2>/dev/null; done; rm -rf "$work"' EXIT

check "--help" $traffic --help
for word in --to --rate --arrivals --size --senders --life --replies --sink --echo --work --cpu --serve --merge \
    'intended send time'; do says "--help" "$word"; done

# ---- wrong input -----------------------------------------------------------------------------------------------------

one_line 2 "one of --to, --sink and --merge" $traffic
one_line 2 "one of --to, --sink and --merge" $traffic --to 127.0.0.1:9 --sink 0
for to in 127.0.0.1 :9 127.0.0.1:0 127.0.0.1:65536 '[::1:9' 300.1.1.1:9; do one_line 2 "--to: " $traffic --to $to; done
for size in 9-20 9 20-10 10-1473 x 10-; do one_line 2 "--size: " $traffic --to 127.0.0.1:9 --size $size; done
one_line 2 "--trace: is missing" $traffic --to 127.0.0.1:9 --arrivals trace
one_line 2 "--trace: has no use" $traffic --to 127.0.0.1:9 --trace "$work/none"
one_line 1 "$work/none" $traffic --to 127.0.0.1:9 --arrivals trace --trace "$work/none"
printf 'time,work\n1,2\n0.5,2\n' >"$work/broken"
one_line 1 "$work/broken:3: " $traffic --to 127.0.0.1:9 --arrivals trace --trace "$work/broken"
for sink in x 70000 0,, ''; do one_line 2 "--sink: " $traffic "--sink=$sink"; done
one_line 2 "--names: " $traffic --sink 0,0 --names a
one_line 2 "--names: " $traffic --sink 0 --names a,b
for serve in x 0x5 4 4x 4x0; do one_line 2 "--serve: " $traffic --sink 0 --serve $serve; done
one_line 2 "--cpu: has no use without --work" $traffic --sink 0 --cpu
one_line 1 "$work/datagrams.bin: No such file" $traffic --merge "$work,$work"
: >"$work/file"
one_line 1 "$work/file" $traffic --sink 0 --out "$work/file"

# ---- helpers ---------------------------------------------------------------------------------------------------------

start_sink() # options; sets pid, ports and port, the first of them
{
    rm -f "$work/sink.out"
    $traffic --quiet "$@" >"$work/sink.out" 2>"$work/sink.err" &
    pid=$!
    started="$started $pid"
    await in_file '^ready$' "$work/sink.out"
    ports=$(sed -n 's/^client .*:\([0-9]*\)$/\1/p' "$work/sink.out")
    port=$(echo "$ports" | head -n 1)
    if [ -n "$port" ]; then pass; else fail "sink" "$* is not ready: $(cat "$work/sink.err")"; fi
}

end_sink() # by SIGTERM: it takes in what has come, and writes the results
{
    kill -TERM $pid
    wait $pid
    got=$?
    if [ $got -eq 0 ]; then pass; else fail "sink" "exit status $got: $(cat "$work/sink.err")"; fi
}

# A number of the last "all" of a sink's results.json, or of the generator's counts.
of_sink() { sed -n '/"all": {/,$p' "$1/results.json" | sed -n "s/^ *\"$2\": \([0-9.]*\).*/\1/p" | head -n 1; }
delay_of() { sed -n '/"all": {/,$p' "$1/results.json" | sed -n "s/.*\"delay_ms\": {.*\"$2\": \([0-9.e+-]*\).*/\1/p"; }
sent_of() { sed -n "s/.*\"counts\": {.*\"$2\": \([0-9]*\).*/\1/p" "$1/results.json"; }

# ---- what is sent is what is counted ---------------------------------------------------------------------------------

start_sink --sink 0,0,0 --names a,b,c --echo --out "$work/s1"
total=0
n=0
for p in $ports; do
    n=$((n + 1))
    check "to client $n" $traffic --to 127.0.0.1:$p --rate 2000 --duration 0.3 --senders 5 --sender-from $((n * 10)) \
        --seed $n --replies --linger 60 --out "$work/g$n"
    says "to client $n" "unanswered 0, twice 0"
    total=$((total + $(sent_of "$work/g$n" sent)))
    holds "client $n: 600 expected, five standard deviations" "$(sent_of "$work/g$n" sent)" '>' 477
    holds "client $n: 600 expected" "$(sent_of "$work/g$n" sent)" '<' 723
    holds "client $n answers" "$(sent_of "$work/g$n" answered)" '==' "$(sent_of "$work/g$n" sent)"
done
end_sink
holds "three clients" "$(of_sink "$work/s1" received)" '==' $total
holds "three clients: unique" "$(of_sink "$work/s1" unique)" '==' $total
holds "three clients: echoed" "$(of_sink "$work/s1" echoed)" '==' $total
for what in duplicates reordered damaged strangers turned_away; do
    holds "three clients: $what" "$(of_sink "$work/s1" $what)" '==' 0
done
there "results" "$work/s1/results.json" "$work/s1/seconds.csv" "$work/s1/datagrams.bin" "$work/g1/seconds.csv"
# Rows of client b add up to what it had.
rows=$(awk -F, '$2 == "b" { n += $3 } END { print n + 0 }' "$work/s1/seconds.csv")
holds "rows of b" "$rows" '==' "$(sent_of "$work/g2" sent)"
schema udp_traffic "$work/s1/results.json"
schema udp_traffic "$work/g1/results.json"
output=$($traffic --merge "$work/g1,$work/s1")
says "--merge, one generator of three" "sent $(sent_of "$work/g1" sent) received $total lost 0 duplicates 0"
says "--merge, one generator of three" "unsent $((total - $(sent_of "$work/g1" sent)))"
one_line 2 "--merge: a generator's folder, and at least one of a sink" $traffic --merge "$work/g1"
one_line 1 "is not of a sink" $traffic --merge "$work/g1,$work/g2"
one_line 1 "is not of a generator" $traffic --merge "$work/s1,$work/s1"

# The same seed sends the same bytes, another one others.
start_sink --sink 0 --idle 60
for run in a b c; do
    seed=4
    if [ $run = c ]; then seed=5; fi
    check "run $run" $traffic --to 127.0.0.1:$port --rate 3000 --duration 0.2 --senders 3 --seed $seed --quiet \
        --out "$work/seed_$run"
done
end_sink
one() { echo "$(sent_of "$work/seed_$1" sent) $(sent_of "$work/seed_$1" bytes)"; }
if [ "$(one a)" = "$(one b)" ] && cmp -s "$work/seed_a/datagrams.bin" "$work/seed_b/datagrams.bin"; then pass
else fail "the same seed" "$(one a), $(one b)"; fi
if [ "$(one a)" != "$(one c)" ]; then pass; else fail "another seed" "sends the same"; fi

# ---- rates, traces, as fast as it goes -------------------------------------------------------------------------------

start_sink --sink 0 --out "$work/s2"
drops_before=$(kernel_drops)
check "evenly" $traffic --to 127.0.0.1:$port --rate 5000 --arrivals even --count 1500 --senders 2 --quiet \
    --out "$work/e"
holds "evenly: all" "$(sent_of "$work/e" sent)" '==' 1500
seconds=$(sed -n 's/^ *"seconds": \([0-9.]*\).*/\1/p' "$work/e/results.json")
holds "evenly: not faster than told" "$seconds" '>=' 0.2997
printf 'time,work\n0,1\n0.05,1\n0.05,1\n0.1,1\n' >"$work/trace"
check "trace" $traffic --to 127.0.0.1:$port --arrivals trace --trace "$work/trace" --count 4 --sender-from 9 --quiet \
    --out "$work/t"
holds "trace: all" "$(sent_of "$work/t" sent)" '==' 4
check "as fast as it goes" $traffic --to 127.0.0.1:$port --rate 0 --count 20000 --sender-from 20 --quiet \
    --out "$work/f"
holds "as fast as it goes" "$(sent_of "$work/f" sent)" '==' 20000
check "as fast as it goes, for so long" $traffic --to 127.0.0.1:$port --rate 0 --duration 0.02 --sender-from 30 \
    --quiet --out "$work/d"
holds "as fast as it goes, for so long" "$(sent_of "$work/d" sent)" '>' 0
end_sink
thrown=$(($(kernel_drops) - drops_before))
holds "all came but for what the kernel threw away" "$(of_sink "$work/s2" received)" '>=' \
    $((21504 + $(sent_of "$work/d" sent) - thrown))
holds "no more came than was sent" "$(of_sink "$work/s2" received)" '<=' $((21504 + $(sent_of "$work/d" sent)))
holds "what is told of that" "$(of_sink "$work/s2" dropped)" '<=' $thrown

# Nobody there: refusals are counted, the run goes on.
check "refused" $traffic --to 127.0.0.1:1 --rate 500 --count 50 --quiet --out "$work/r"
holds "refused: all were sent" "$(sent_of "$work/r" sent)" '==' 50
holds "refused: told" "$(sent_of "$work/r" refused)" '>' 0

# Stopped: results are there, the status says so. Its folder is there when it hears signals.
$traffic --to 127.0.0.1:1 --rate 200 --duration 600 --quiet --out "$work/stopped" 2>/dev/null &
pid=$!
started="$started $pid"
await test -d "$work/stopped"
kill -TERM $pid
wait $pid
holds "stopped: status" $? '==' 1
if grep -q '"stopped": true' "$work/stopped/results.json"; then pass; else fail "stopped" "no results"; fi

# ---- slow clients ----------------------------------------------------------------------------------------------------

start_sink --sink 0 --serve 1x5 --queue 1000 --echo --out "$work/s3"
check "--serve" $traffic --to 127.0.0.1:$port --rate 100 --arrivals even --count 30 --replies --linger 60 --quiet \
    --out "$work/v"
end_sink
holds "--serve: takes 5 ms" "$(delay_of "$work/s3" p50)" '>=' 4.98
holds "--serve: answers" "$(sent_of "$work/v" answered)" '==' 30
start_sink --sink 0 --serve 1x10 --queue 5 --out "$work/s4"
check "--queue" $traffic --to 127.0.0.1:$port --rate 0 --count 100 --quiet --out "$work/q"
end_sink
away=$(of_sink "$work/s4" turned_away)
holds "--queue: turns away" "$away" '>' 0
holds "--queue: served and turned away" "$(delay_of "$work/s4" count)" '==' $((100 - away))
start_sink --sink 0 --work 2000 --cpu --echo --out "$work/s5"
check "--cpu" $traffic --to 127.0.0.1:$port --rate 100 --arrivals even --count 20 --replies --linger 60 --quiet \
    --out "$work/c"
holds "--cpu: answers" "$(sent_of "$work/c" answered)" '==' 20
used=$(awk '{ print ($14 + $15) * 10 }' /proc/$pid/stat)
end_sink
holds "--cpu: 40 ms of work, in ticks of 10" "$used" '>=' 30
holds "--cpu: takes 2 ms" "$(delay_of "$work/s5" p50)" '>=' 1.98

# ---- a relay that drops, doubles, swaps and cuts ---------------------------------------------------------------------

if ! have python3; then
    skip "a relay" "python3 is not installed"
    finish
fi
# Of every twenty datagrams: the 4th is dropped, the 8th doubled, the 12th goes after the 13th, the 16th loses a byte.
# Ends when it has seen so many; prints how many source ports there were, and how many of those that go late are of the
# sender that they let pass.
cat >"$work/relay.py" <<'END'
import socket
import sys
to, count = int(sys.argv[1]), int(sys.argv[2])
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    here.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE, for root
except OSError:
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
here.bind(("127.0.0.1", 0))
here.settimeout(60)
print(here.getsockname()[1], flush=True)
held, ports, overtaken = None, set(), 0


def sender_of(data):
    return data[2:4] if len(data) >= 16 else data[1:3]


for i in range(count):
    data, sender = here.recvfrom(65536)
    ports.add(sender[1])
    out = [data]
    if i % 20 == 3:
        out = []
    elif i % 20 == 7:
        out = [data, data]
    elif i % 20 == 11:
        held, out = data, []
    elif i % 20 == 12:
        overtaken += sender_of(data) == sender_of(held)
        out, held = [data, held], None
    elif i % 20 == 15:
        out = [data[:-1]]
    for one in out:
        here.sendto(one, ("127.0.0.1", to))
print(len(ports), overtaken, flush=True)
END

relayed() # name, sizes, other options: 500, which fit into any receive buffer
{
    start_sink --sink 0 --out "$work/rs"
    rm -f "$work/relay.out"
    python3 -S -E "$work/relay.py" "$port" 500 >"$work/relay.out" 2>"$work/relay.err" &
    relay=$!
    started="$started $relay"
    await test -s "$work/relay.out"
    check "$1" $traffic --to 127.0.0.1:"$(cat "$work/relay.out")" --rate 2500 --count 500 --size $2 --quiet \
        --out "$work/rg" $3
    wait $relay
    holds "$1: the relay ends well" $? '==' 0
    end_sink
    holds "$1: received" "$(of_sink "$work/rs" received)" '==' 500
    holds "$1: unique" "$(of_sink "$work/rs" unique)" '==' 450
    holds "$1: duplicates" "$(of_sink "$work/rs" duplicates)" '==' 25
    holds "$1: damaged" "$(of_sink "$work/rs" damaged)" '==' 25
    holds "$1: reordered" "$(of_sink "$work/rs" reordered)" '==' "$(sed -n '2s/.* //p' "$work/relay.out")"
    output=$($traffic --merge "$work/rg,$work/rs")
    says "$1" "sent 500 received 500 lost 50 duplicates 25"
    says "$1" "damaged 25 strangers 0 turned_away 0 dropped 0 unsent 0"
}
relayed "a relay" 40-150
holds "a relay: one sender" "$(of_sink "$work/rs" reordered)" '==' 25
relayed "a relay, short datagrams" 12-15
holds "a relay, short datagrams: one sender" "$(of_sink "$work/rs" reordered)" '==' 25
# 0.8 s: sixteen new ports, and the first two. None, if the machine stood still for all of that: then once more.
for try in 1 2 3 4 5; do
    relayed "a relay, flows that end" 18-150 "--senders 2 --life 0.1 --rate 625"
    ports=$(sed -n '2s/ .*//p' "$work/relay.out")
    if [ "${ports:-0}" -gt 2 ]; then break; fi
done
holds "flows that end: ports, try $try" "$ports" '>' 2
nothing_left "all runs" "$work"
finish
