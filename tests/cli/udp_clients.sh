#!/bin/sh
# The UDP allocator with clients that come and go: Nomad's answers, DNS, lists, health. Nomad is a double
# (tests/cli/udp_nomad.py) that replays the documented format with blocking queries: no real Nomad is here. Datagrams
# are real, and counted by their sequence numbers: nothing is lost while clients come and go.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/udp.inc

allocator=build/udp/allocator traffic=build/udp/traffic
if [ ! -x $allocator ] || [ ! -x $traffic ] || ! have python3; then
    skip "udp_clients" "build/udp/allocator or build/udp/traffic is not built here, or there is no python3"
    finish
fi
started=''
trap 'for p in $started; do kill -9 "$p" 2>/dev/null; done; rm -rf "$work"' EXIT

ask() # path: GET; path, body: POST
{
    python3 -S -E - "http://127.0.0.1:$nomad$1" ${2+"$2"} <<'PYTHON'
import sys, urllib.request
body = sys.argv[2].encode() if len(sys.argv) > 2 else None
print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], body), timeout=60).read().decode(), end="")
PYTHON
}

# Their names, in one line; also of those that are leaving.
clients()
{
    sed -n 's/^rllb_udp_client_given_total{client="\([^"]*\)"} .*/\1/p' "$work/status" 2>/dev/null | sort |
        tr '\n' ' ' | sed 's/ $//'
}
clients_are() { [ "$(clients)" = "$1" ]; }
counted() { sed -n "s/^rllb_udp_$1 //p" "$work/status" 2>/dev/null; }
counted_more() { [ "$(counted "$1")" -gt "$2" ] 2>/dev/null; } # name, number
is_in_state() { in_file "^rllb_server_state{.*server=\"$1\",state=\"$2\"} 1\$" "$work/status"; } # client, state
has_said() { in_file "$1" "$work/allocator.err"; }
times_said() { grep -c -e "$1" "$work/allocator.err"; }
has_said_times() { [ "$(times_said "$1")" -eq "$2" ]; } # pattern, number
clients_stay() # name, who: in a status of now too
{
    rm -f "$work/status"
    await test -s "$work/status"
    if clients_are "$2"; then pass; else fail "$1" "$(clients)"; fi
}

service() # number of the client, allocation
{
    eval "p=\$port$1"
    printf '{"Address":"127.0.0.1","AllocID":"%s","CreateIndex":14,"Datacenter":"dc1","ID":"_nomad-task-%s",' "$2" "$2"
    printf '"JobID":"spread/udp","ModifyIndex":24,"Namespace":"edge","NodeID":"n","Port":%d,' "$p"
    printf '"ServiceName":"receiver","Tags":["weight=2"]}'
}
alloc() # allocation, number of its group, status
{
    printf '{"ID":"%s","Name":"spread/udp.g[%s]","NodeName":"client-%s","JobID":"spread/udp",' "$1" "$2" "$2"
    printf '"TaskGroup":"g","DesiredStatus":"run","ClientStatus":"%s"}' "$3"
}

start_sink() # name, one 0 for each client: sets sink (its process) and ports
{
    $traffic --sink "$2" --echo --out "$work/$1" --quiet >"$work/$1.out" 2>"$work/$1.err" &
    sink=$!
    started="$started $sink"
    await in_file '^ready$' "$work/$1.out"
    ports=$(sed -n 's/^client .*:\([0-9]*\)$/\1/p' "$work/$1.out")
}

start_sink sink 0,0,0
sinks=$sink
set -- $ports
port1=$1 port2=$2 port3=$3
python3 -S -E tests/cli/udp_nomad.py --token secret >"$work/nomad.out" 2>"$work/nomad.err" &
started="$started $!"
await test -s "$work/nomad.out"
nomad=$(head -n 1 "$work/nomad.out")
if [ -n "$port3" ] && [ -n "$nomad" ]; then
    pass
else
    fail "start" "$(cat "$work/sink.err" "$work/nomad.err")"
    finish
fi

start_allocator() # options
{
    rm -f "$work/allocator.out" "$work/status" # else those of the run before might be read
    $allocator --status "$work/status" "$@" >"$work/allocator.out" 2>"$work/allocator.err" &
    pid=$!
    started="$started $pid"
    await in_file '^listening on ' "$work/allocator.out"
    to=$(sed -n 's/^listening on \(.*\)$/\1/p' "$work/allocator.out")
    if [ -n "$to" ]; then pass; else fail "start_allocator" "$* does not listen: $(cat "$work/allocator.err")"; fi
}
stop_allocator()
{
    kill "$pid" 2>/dev/null
    wait "$pid"
}

# ---- wrong settings --------------------------------------------------------------------------------------------------

one_line 2 "--clients: " $allocator --clients 10.0.0.5
one_line 2 "--clients: " $allocator --clients dns:name
one_line 2 "--clients: " $allocator --clients nomad:http://127.0.0.1:4646
one_line 2 "--policy: 'best'" $allocator --clients 127.0.0.1:9 --policy best
one_line 2 "--source: " $allocator --clients 127.0.0.1:9 --policy awcmp
output=$(NOMAD_TOKEN='se cret' $allocator --clients nomad:http://127.0.0.1:9/udp 2>&1)
if echo "$output" | grep -q 'NOMAD_TOKEN is no token'; then pass; else fail "a token that is none" "$output"; fi

# ---- clients of a double of Nomad's come and go, and nothing is lost -------------------------------------------------

# Traffic lasts as long as all of that, however long it takes.
drops_before=$(kernel_drops)
ask "/double?list=services" "[$(service 1 aa),$(service 2 bb)]" >/dev/null
ask "/double?list=allocations" "[$(alloc aa 0 running),$(alloc bb 1 pending)]" >/dev/null
NOMAD_TOKEN=secret start_allocator --clients "nomad:http://127.0.0.1:$nomad/receiver?namespace=edge" --idle 0.5 \
    --policy round_robin
soon "who is registered and runs is a client" clients_are "spread/udp.g[0]"
if ask /double | grep -q '^/v1/service/receiver index=0&wait=60s&namespace=edge secret$'; then pass
else fail "what is asked" "$(ask /double)"; fi
if ask /double | grep -q '^/v1/job/spread%2Fudp/allocations index=0&wait=60s&namespace=edge secret$'; then pass
else fail "what is asked about allocations" "$(ask /double)"; fi
$traffic --to "$to" --rate 2000 --senders 40 --life 0.2 --duration 600 --replies --out "$work/load" --quiet \
    >"$work/load.out" 2>&1 &
load=$!
started="$started $load"
ask "/double?list=allocations" "[$(alloc aa 0 running),$(alloc bb 1 running)]" >/dev/null
soon "one that runs by now" clients_are "spread/udp.g[0] spread/udp.g[1]"
soon "there is traffic" counted_more received_total 1000
ask "/double?list=services" "[$(service 1 aa),$(service 2 bb),$(service 3 cc)]" >/dev/null
ask "/double?list=allocations" "[$(alloc aa 0 running),$(alloc bb 1 running),$(alloc cc 2 running)]" >/dev/null
soon "one that comes" clients_are "spread/udp.g[0] spread/udp.g[1] spread/udp.g[2]"
ask "/double?list=services" "[$(service 2 bb),$(service 3 cc)]" >/dev/null
two="spread/udp.g[1] spread/udp.g[2]"
soon "one that goes, when its senders have left" clients_are "$two"
ask "/double?list=services" "[]" >/dev/null
soon "nobody is registered: said" has_said 'nobody is found there; the 2 clients of before stay'

# Each fault is seen and said, changes nothing, and is over.
faults=0
fault() # mode, what is said of it
{
    ask "/double?mode=$1" "" >/dev/null
    soon "$1: said" has_said "receiver: $2; the 2 clients of before stay"
    faults=$((faults + 1))
}
well()
{
    ask "/double?mode=well" "" >/dev/null
    soon "it answers again: said" has_said_times 'receiver: answers again' $faults
}
fault garbage 'the answer is no JSON'
well
fault refuse 'the token is refused (403)'
well
fault half '[^;]*transfer closed[^;]*'
well
fault gone '[^;]*[Ee]mpty[^;]*'
clients_stay "faults change nothing" "$two"
ask "/double?index=3" "" >/dev/null # a new Nomad, which counts from the beginning
ask "/double?list=services" "[$(service 1 dd),$(service 2 bb)]" >/dev/null
ask "/double?list=allocations" "[$(alloc dd 2 running),$(alloc bb 1 running)]" >/dev/null
asked_with() { ask /double | grep -c "^/v1/$1.*index=4&"; } # so asks who has taken in what is new
services=$(asked_with service) allocations=$(asked_with job)
both_taken() { [ "$(asked_with service)" -gt "$services" ] && [ "$(asked_with job)" -gt "$allocations" ]; }
well
soon "the new Nomad is understood" both_taken
given=$(counted 'client_sent_total{client="spread\/udp.g\[2\]"}')
soon "a replacement has its name, and is sent to" counted_more \
    'client_sent_total{client="spread\/udp.g\[2\]"}' "${given:-0}"
clients_stay "a replacement has its name" "$two"
kill $load
wait $load
await nothing_waits "${to##*:}"
stop_allocator
kill $sinks
wait $sinks
output=$($traffic --merge "$work/load,$work/sink" 2>&1)
of_merge() { echo "$output" | awk -v word="$1" '{ for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }'; }
sent=$(of_merge sent)
holds "there was traffic" "$sent" '>' 2000
# What the allocator did not receive, and what found no room at a client, the kernel has thrown away.
short=$((sent - $(counted received_total)))
holds "what did not arrive" $short '<=' $(($(kernel_drops) - drops_before))
holds "nothing is lost while clients come and go" $(($(of_merge lost) - short - $(of_merge dropped))) '<=' 0
holds "each once" "$(of_merge duplicates)" '==' 0
holds "it says no more than that" "$(grep -c . "$work/allocator.err")" '<=' $((2 + 4 * faults))

# ---- DNS, probes -----------------------------------------------------------------------------------------------------

start_allocator --clients "dns:localhost:$port1"
soon "addresses of a name" clients_are "127.0.0.1"
stop_allocator
# Who is stopped keeps its port, and answers nothing.
start_sink a 0
a=$sink at_a=$ports
start_sink b 0
b=$sink at_b=$ports
kill -STOP "$b"
start_allocator --clients "a=127.0.0.1:$at_a,b=127.0.0.1:$at_b" --probe hello --probe-every 0.1 --probe-timeout 0.2
soon "a client that answers no probe is down" has_said 'warning: b is down: no answer to [0-9]* probes'
soon "it is down" is_in_state b down
soon "a client that answers probes is up" is_in_state a up
kill -CONT "$b"
soon "it is up when it answers" is_in_state b up
soon "it is up: said" has_said 'warning: b is up\|a client answers' # the latter if nobody did for a while
kill -STOP "$a"
soon "the other one is down by now" is_in_state a down
soon "it is up" is_in_state b up
stop_allocator
finish
