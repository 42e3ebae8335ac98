#!/bin/sh
# The UDP allocator with clients that come and go: Nomad's answers, DNS, lists, health. Nomad is a double
# (tests/cli/udp_nomad.py) that replays the documented format with blocking queries: no real Nomad is here. Datagrams
# are real, and counted by their sequence numbers: nothing is lost while clients come and go.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

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
print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], body), timeout=5).read().decode(), end="")
PYTHON
}

soon() # name, command...: true within ten seconds
{
    soon_name=$1 tries=0
    shift
    while [ $tries -lt 200 ]; do
        if "$@"; then pass; return; fi
        sleep 0.05
        tries=$((tries + 1))
    done
    fail "$soon_name" "not within ten seconds: $(clients) $(tail -n 3 "$work/allocator.err")"
}

# Their names, in one line; also of those that are leaving.
clients()
{
    sed -n 's/^rllb_udp_client_given_total{client="\([^"]*\)"} .*/\1/p' "$work/status" 2>/dev/null | sort |
        tr '\n' ' ' | sed 's/ $//'
}
clients_are() { [ "$(clients)" = "$1" ]; }
has_said() { grep -q -- "$1" "$work/allocator.err"; }

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

start_sink() # ports
{
    rm -f "$work/sink.out"
    $traffic --sink "$1" --echo --out "$work/sink" --quiet >"$work/sink.out" 2>"$work/sink.err" &
    sink=$!
    started="$started $sink"
    tries=0
    while ! grep -q '^ready$' "$work/sink.out" 2>/dev/null && [ $tries -lt 100 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
}

start_sink 0,0,0
# shellcheck disable=SC2046
set -- $(sed -n 's/^client .*:\([0-9]*\)$/\1/p' "$work/sink.out")
port1=$1 port2=$2 port3=$3
python3 -S -E tests/cli/udp_nomad.py --token secret >"$work/nomad.out" 2>"$work/nomad.err" &
started="$started $!"
tries=0
while [ ! -s "$work/nomad.out" ] && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
nomad=$(head -n 1 "$work/nomad.out")
if [ -n "$port3" ] && [ -n "$nomad" ]; then
    pass
else
    fail "start" "$(cat "$work/sink.err" "$work/nomad.err")"
    finish
fi

start_allocator() # options
{
    rm -f "$work/allocator.out" # else the line of the run before might be read
    $allocator --status "$work/status" "$@" >"$work/allocator.out" 2>"$work/allocator.err" &
    pid=$!
    started="$started $pid"
    tries=0
    while ! grep -q '^listening on ' "$work/allocator.out" 2>/dev/null && [ $tries -lt 100 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
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

ask "/double?list=services" "[$(service 1 aa),$(service 2 bb)]" >/dev/null
ask "/double?list=allocations" "[$(alloc aa 0 running),$(alloc bb 1 pending)]" >/dev/null
NOMAD_TOKEN=secret start_allocator --clients "nomad:http://127.0.0.1:$nomad/receiver?namespace=edge" --idle 0.5 \
    --policy round_robin
soon "who is registered and runs is a client" clients_are "spread/udp.g[0]"
if ask /double | grep -q '^/v1/service/receiver index=0&wait=60s&namespace=edge secret$'; then pass
else fail "what is asked" "$(ask /double)"; fi
if ask /double | grep -q '^/v1/job/spread%2Fudp/allocations index=0&wait=60s&namespace=edge secret$'; then pass
else fail "what is asked about allocations" "$(ask /double)"; fi
ask "/double?list=allocations" "[$(alloc aa 0 running),$(alloc bb 1 running)]" >/dev/null
soon "one that runs by now" clients_are "spread/udp.g[0] spread/udp.g[1]"
$traffic --to "$to" --rate 2000 --senders 40 --life 0.2 --duration 6 --replies --out "$work/load" --quiet \
    >"$work/load.out" 2>&1 &
load=$!
started="$started $load"
sleep 0.3
ask "/double?list=services" "[$(service 1 aa),$(service 2 bb),$(service 3 cc)]" >/dev/null
ask "/double?list=allocations" "[$(alloc aa 0 running),$(alloc bb 1 running),$(alloc cc 2 running)]" >/dev/null
soon "one that comes" clients_are "spread/udp.g[0] spread/udp.g[1] spread/udp.g[2]"
ask "/double?list=services" "[$(service 2 bb),$(service 3 cc)]" >/dev/null
soon "one that goes, when its senders have left" clients_are "spread/udp.g[1] spread/udp.g[2]"
ask "/double?list=services" "[]" >/dev/null
soon "nobody is registered: said" has_said 'nobody is found there; the 2 clients of before stay'
ask "/double?mode=garbage" "" >/dev/null
ask "/double?list=services" "[]" >/dev/null
soon "garbage: said" has_said 'receiver: the answer is no JSON; the 2 clients of before stay'
ask "/double?mode=refuse" "" >/dev/null
sleep 0.3
ask "/double?mode=half" "" >/dev/null
sleep 0.3
ask "/double?mode=gone" "" >/dev/null
sleep 0.3
if clients_are "spread/udp.g[1] spread/udp.g[2]"; then pass; else fail "faults change nothing" "$(clients)"; fi
ask "/double?index=3" "" >/dev/null # a new Nomad, which counts from the beginning
ask "/double?list=services" "[$(service 1 dd),$(service 2 bb)]" >/dev/null
ask "/double?list=allocations" "[$(alloc dd 2 running),$(alloc bb 1 running)]" >/dev/null
ask "/double?mode=well" "" >/dev/null
soon "it answers again: said" has_said 'receiver: answers again'
sleep 1.5
if clients_are "spread/udp.g[1] spread/udp.g[2]"; then pass; else fail "a replacement has its name" "$(clients)"; fi
wait $load
kill $sink
wait $sink
output=$($traffic --merge "$work/load,$work/sink" 2>&1)
lost=$(echo "$output" | sed -n 's/.* lost \([0-9]*\) .*/\1/p')
if [ "$lost" = 0 ]; then pass; else fail "nothing is lost while clients come and go" "$output"; fi
got=$(echo "$output" | sed -n 's/.* received \([0-9]*\) .*/\1/p')
if [ "${got:-0}" -gt 10000 ]; then pass; else fail "there was traffic" "$output"; fi
stop_allocator
lines=$(grep -c . "$work/allocator.err")
if [ "$lines" -le 8 ]; then pass; else fail "it says too much" "$(cat "$work/allocator.err")"; fi

# ---- DNS, probes -----------------------------------------------------------------------------------------------------

start_sink "$port1,$port2"
start_allocator --clients "dns:localhost:$port1"
soon "addresses of a name" clients_are "127.0.0.1"
stop_allocator
start_allocator --clients "a=127.0.0.1:$port1,b=127.0.0.1:$port3" --probe hello --probe-every 0.1 --probe-timeout 0.05
soon "a client that answers no probe is down" has_said 'warning: b is down: no answer to 3 probes'
if has_said 'a is down'; then fail "a client that answers probes" "is down"; else pass; fi
kill $sink
wait $sink
start_sink "$port2,$port3"
soon "it is up when it answers" has_said 'warning: b is up'
soon "the other one is down by now" has_said 'warning: a is down: no answer to 3 probes'
stop_allocator
finish
