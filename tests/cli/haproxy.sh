#!/bin/sh
# The companion beside a real HAProxy: it learns who is slow, leaves who fails, honours the operator, outlives HAProxy's
# restart and its own, sets nothing in shadow, bears garbage and floods, and answers agent checks.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/http.inc

companion=build/haproxy/companion
PATH=$PATH:/usr/sbin

check "--help" $companion --help
for word in --socket --backend --log --agent --shadow --dry-run --blend --state --status --reset 'option httplog' \
    leastconn '[0.25]'; do says "--help" "$word"; done
one_line 2 "--backend: is missing" $companion --socket "$work/s"
one_line 2 "--backend: 'a b' is no name" $companion --socket "$work/s" --backend 'a b'
one_line 2 "--socket: is missing" $companion --backend be
one_line 2 "--policy: 'sed' finds no weights; learned, equalise, hlb and awcmp do" $companion --socket "$work/s" \
    --backend be --policy sed
one_line 2 "$work/none" $companion --socket "$work/s" --backend be --model "$work/none"
one_line 2 "--log: '127.0.0.1:x' has no port" $companion --socket "$work/s" --backend be --log 127.0.0.1:x
one_line 2 "--log: 'example:1' is no address" $companion --socket "$work/s" --backend be --log example:1
one_line 2 "--servers: is missing" $companion --agent 127.0.0.1:0 --backend be
one_line 2 "--servers: 'a=0' is not" $companion --agent 127.0.0.1:0 --backend be --servers a=0
one_line 2 "--reset: has no use with --shadow" $companion --socket "$work/s" --backend be --reset --shadow
: >"$work/file"
one_line 2 "--log: '$work/file' is there, and no socket" $companion --socket "$work/s" --backend be \
    --log "unix:$work/file"

if ! have haproxy; then
    skip "haproxy" "haproxy is not installed"
    finish
fi
if [ ! -x build/http/backend ] || [ ! -x build/http/load ] || ! have python3; then
    skip "haproxy" "build/http/load is not built (libuv, http-parser), or there is no python3"
    finish
fi

cat >"$work/tool.py" <<'END'
import socket, sys
what = sys.argv[1]
if what == "tell":
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[2])
    s.sendall(sys.argv[3].encode() + b"\n")
    while True:
        part = s.recv(65536)
        if not part:
            break
        sys.stdout.write(part.decode())
elif what == "flood":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to = ("127.0.0.1", int(sys.argv[2]))
    for i in range(int(sys.argv[3])):
        s.sendto(sys.argv[4].encode().decode("unicode_escape").encode("latin-1"), to)
elif what in ("agent", "fault"):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=20)
    post = "POST /fault?%s HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
    text = post % sys.argv[3] if what == "fault" else sys.argv[3]
    s.sendall(text.encode().decode("unicode_escape").encode())
    print(s.recv(1000).decode().strip())
END
tool() { python3 -S -E "$work/tool.py" "$@"; }

haproxy_pid='' companion_pid='' holder_pid=''
stop_all()
{
    for p in $companion_pid $haproxy_pid $holder_pid; do kill "$p" 2>/dev/null; done
    for p in $companion_pid $haproxy_pid $holder_pid; do wait "$p" 2>/dev/null; done
    stop_backends
}
trap 'stop_all; rm -rf "$work"' EXIT

start_backend --servers 2,2,2,2@0.2
backend_ports=$ports admin_port=$admin
# HAProxy's, and by the same number the companion's for log lines.
python3 -S -E tests/cli/ports.py 1 >"$work/port" &
holder_pid=$!
await test -s "$work/port"
front=$(cat "$work/port")

# What docs/haproxy.md tells to write, but that nobody's patience ends on a busy machine.
configure() # more words of each server line
{
    cat <<END
global
    stats socket $work/admin.sock mode 600 level admin
    log 127.0.0.1:$front len 1024 format raw local0
    maxconn 500
defaults
    mode http
    log global
    option httplog
    timeout connect 20s
    timeout client 100s
    timeout server 100s
    retries 2
    option redispatch
frontend web
    bind 127.0.0.1:$front
    default_backend be
backend be
    balance leastconn
END
    i=0
    for p in $backend_ports; do
        printf '    server s%d 127.0.0.1:%d weight 100 %s\n' $i "$p" "$(printf '%s' "$1" | sed "s/NAME/s$i/")"
        i=$((i + 1))
    done
}

# ---- processes -------------------------------------------------------------------------------------------------------

haproxy_answers()
{
    tool tell "$work/admin.sock" "show info" 2>/dev/null | grep -q "^Pid: $haproxy_pid$" ||
        ! kill -0 "$haproxy_pid" 2>/dev/null
}
start_haproxy()
{
    haproxy -db -f "$work/h.cfg" >"$work/haproxy.out" 2>&1 &
    haproxy_pid=$!
    if await haproxy_answers && kill -0 $haproxy_pid 2>/dev/null; then pass
    else fail "haproxy" "does not start: $(cat "$work/haproxy.out")"; fi
}
end_haproxy()
{
    kill "$haproxy_pid" 2>/dev/null
    wait "$haproxy_pid" 2>/dev/null
    haproxy_pid=''
}

companion_ready() { grep -q '^ready$' "$work/companion.out" 2>/dev/null || ! kill -0 $companion_pid 2>/dev/null; }
start_companion() # options
{
    rm -f "$work/companion.out"
    $companion --backend be --log "127.0.0.1:$front" --status "$work/status" --for 300 "$@" >"$work/companion.out" \
        2>"$work/companion.err" &
    companion_pid=$!
    await companion_ready
    agent_port=$(sed -n 's/^agent .*:\([0-9]*\)$/\1/p' "$work/companion.out")
}
end_companion() # signal; $ended: its status
{
    kill -"$1" "$companion_pid" 2>/dev/null
    wait "$companion_pid" 2>/dev/null
    ended=$?
    companion_pid=''
}

# ---- what they say ---------------------------------------------------------------------------------------------------

# The weights in HAProxy, in order.
weights()
{
    tool tell "$work/admin.sock" "show servers state be" |
        awk '$2 == "be" { w[$4] = $8 } END { print w["s0"], w["s1"], w["s2"], w["s3"] }'
}
weight() { weights | cut -d ' ' -f $(($1 + 1)); }
weights_are() # a condition of awk on $1 to $4
{
    weights | awk "NF == 4 && ($1) { so = 1 } END { exit !so }"
}

status_now() # $work/status is written anew
{
    rm -f "$work/status"
    kill -USR1 "$companion_pid" 2>/dev/null && await test -s "$work/status"
}
counted() # what
{
    status_now && sed -n "s/^rllb_haproxy_$1 //p" "$work/status"
}
counts() # what, a relation of test, number
{
    test "$(counted "$1")" "$2" "$3" 2>/dev/null
}
soon() # name, command...: true in the end
{
    soon_name=$1
    shift
    if await "$@"; then pass; else fail "$soon_name" "not within half a minute: weights $(weights)"; fi
}
looks_again() # HAProxy is asked twice: what it was before is known then
{
    reports=$(counted reports_total)
    soon "HAProxy is asked" counts reports_total -ge $((reports + 2))
}

# ---- traffic ---------------------------------------------------------------------------------------------------------

seed=0 sent=0 lost=0
result() { sed -n "s/.*\"counts\": {.*\"$1\": \([0-9]*\).*/\1/p" "$work/l/results.json"; }
send() # seconds, rate; what was sent and what failed is added up
{
    seed=$((seed + 1))
    rm -rf "$work/l"
    build/http/load --url "http://127.0.0.1:$front/" --rate "$2" --duration "$1" --work 10:exp --timeout 100 \
        --connections 100 --seed $seed --out "$work/l" --quiet >/dev/null 2>&1
    batch_sent=$(result sent) batch_lost=$(result failed)
    sent=$((sent + ${batch_sent:-0})) lost=$((lost + ${batch_lost:-0}))
}
sends_until() # name, command...: half a second of requests after the other until it is true
{
    sends_name=$1 batches=0
    shift
    while ! "$@"; do
        if [ $batches -eq 40 ]; then
            fail "$sends_name" "not after $batches times a hundred requests: weights $(weights)"
            return
        fi
        send 0.5 220
        batches=$((batches + 1))
    done
    pass
}

# Is s3, with a fifth of the speed of the others, known as the slow one? By what it is beside them: a busy machine adds
# to all durations, which brings weights nearer to each other, and takes one of the others for slow now and then.
# shellcheck disable=SC2016 # awk's
{
    slow_is_known='$4 >= 1 && 9 * $4 < 2 * ($1 + $2 + $3)'
    slow_has_less='$4 >= 1 && 3 * $4 < 2 * ($1 > $3 ? $1 : $3)' # whatever s1 has by then, which failed
    left='$2 <= 1' back='30 * $2 > $1 + $3 + $4' not_the_operators='$3 > 3'
    as_configured='$1 == 100 && $2 == 100 && $3 == 100 && $4 == 100'
    ours='$1 == 256 || $2 == 256 || $3 == 256 || $4 == 256' # the greatest that the companion sets
}
still() # name, condition
{
    if weights_are "$2"; then pass; else fail "$1" "weights $(weights)"; fi
}

check "the example's settings" haproxy -c -f examples/haproxy/haproxy.cfg

# ---- learns ----------------------------------------------------------------------------------------------------------

start_companion --socket "$work/admin.sock" --state "$work/state"
configure >"$work/h.cfg"
start_haproxy
soon "HAProxy tells its servers" counts reports_total -ge 1
send 1.5 220
sends_until "the slow server has less, the others have more" weights_are "$slow_is_known"
holds "nothing is lost while it learns" $lost '==' 0
# The kernel drops lines where the companion does not run for long.
dropped() { awk -v p="$(printf ':%04X$' "$front")" '$2 ~ p { n += $NF } END { print n + 0 }' /proc/net/udp; }
all_heard() { counts lines_total -eq $((sent - $(dropped))); }
soon "every request has its line" all_heard
soon "HAProxy counts as many" counts ended_total -eq $sent
holds "nothing was refused" "$(counted weights_refused_total)" '==' 0

# ---- fails fast ------------------------------------------------------------------------------------------------------

# Idle always, it would have most of the requests.
tool fault "$admin_port" "kind=fail&server=s1" >/dev/null
send 0.5 220
few_fail() { [ $((10 * ${batch_lost:-99})) -lt "${batch_sent:-0}" ]; }
sends_until "few requests meet the failing server" few_fail
soon "a server that fails is left" weights_are "$left"
tool fault "$admin_port" "kind=none&server=s1" >/dev/null
sends_until "it is back" weights_are "$back"

# ---- the operator ----------------------------------------------------------------------------------------------------

tool tell "$work/admin.sock" "set server be/s2 state maint" >/dev/null
looks_again
tool tell "$work/admin.sock" "set weight be/s2 3" >/dev/null
send 0.5 150
looks_again
holds "maintenance: its weight stays" "$(weight 2)" '==' 3
tool tell "$work/admin.sock" "set server be/s2 state ready" >/dev/null
soon "back from maintenance: ours again" weights_are "$not_the_operators"

# ---- garbage, floods -------------------------------------------------------------------------------------------------

others=$(counted lines_other_total) wrong=$(counted lines_wrong_total) # HAProxy's own, of maintenance
tool flood "$front" 50 'be/s0 no line'
soon "wrong lines are counted" counts lines_wrong_total -eq $((wrong + 50))
tool flood "$front" 50 '\x00\xff\n'
soon "so are those that tell of nobody" counts lines_other_total -eq $((others + 50))
stranger='be/s9 0/0/0/9/9 200 ---- 1/1/1/1/0 0/0'
tool flood "$front" 30000 "$stranger"
strangers()
{
    tool flood "$front" 500 "$stranger"
    counts lines_unknown_total -gt 1000
}
soon "strangers are counted" strangers
if kill -0 $companion_pid 2>/dev/null; then pass; else fail "flood" "ended the companion"; fi

# ---- restarts --------------------------------------------------------------------------------------------------------

end_haproxy
start_haproxy
soon "HAProxy restarted: weights are set anew" weights_are "$ours"
holds "the restart is counted" "$(counted restarts_total)" '==' 1
end_companion TERM
holds "SIGTERM: ends well" $ended '==' 0
if [ -s "$work/state" ]; then pass; else fail "state" "no file"; fi
grep -v 'answers again' "$work/companion.err" | grep -v 'trying again$' >"$work/said"
if [ -s "$work/said" ]; then fail "stderr" "$(cat "$work/said")"; else pass; fi
still "weights stay when it ends" "$ours"

check "--reset" $companion --socket "$work/admin.sock" --backend be --reset
still "--reset: as configured" "$as_configured"

start_companion --socket "$work/admin.sock" --shadow --state "$work/state"
wants_less()
{
    status_now && sed -n 's/^rllb_haproxy_wanted{.*} //p' "$work/status" | tr '\n' ' ' |
        awk "$slow_has_less { so = 1 } END { exit !so }"
}
send 0.5 100
sends_until "--shadow: it decides" wants_less
still "--shadow: nothing is set" "$as_configured"
end_companion TERM
start_companion --socket "$work/admin.sock" --dry-run --state "$work/state"
soon "--dry-run: lines are shown" grep -q '^set weight be/.* 256' "$work/companion.out"
still "--dry-run: nothing is set" "$as_configured"
end_companion TERM

chmod 622 "$work/admin.sock"
start_companion --socket "$work/admin.sock" --state "$work/state"
if grep -q 'may be written by everybody' "$work/companion.err"; then pass; else fail "rights" "no warning"; fi
chmod 600 "$work/admin.sock"
soon "state: goes on where it was, without a request" weights_are "$slow_has_less"
# Killed, not ended: requests go on, weights stay.
end_companion KILL
lost=0
send 0.5 150
holds "the companion is killed: nothing fails" $lost '==' 0
still "the companion is killed: weights stay" "$slow_has_less"
end_haproxy

# ---- agent checks ----------------------------------------------------------------------------------------------------

start_companion --agent 127.0.0.1:0 --servers s0,s1,s2,s3
configure "agent-check agent-port $agent_port agent-inter 200ms agent-send NAME\\n" >"$work/h.cfg"
start_haproxy
send 1.5 220
sends_until "agent: the slow server has less, the others have more" weights_are "$slow_is_known"
percent_told() { tool agent "$agent_port" 's1\n' 2>/dev/null | grep -q '^[0-9]*%$'; }
soon "agent: a percentage" percent_told
holds "agent: nobody is a stranger" "$(counted agent_strangers_total)" '==' 0
nobody()
{
    tool agent "$agent_port" 'nobody\n' >>"$work/told" 2>/dev/null
    counts agent_strangers_total -ge 1
}
soon "agent: strangers are counted" nobody
if grep -q . "$work/told"; then fail "agent: a stranger" "is told $(cat "$work/told")"; else pass; fi
end_companion TERM
holds "agent: ends well" $ended '==' 0
finish
