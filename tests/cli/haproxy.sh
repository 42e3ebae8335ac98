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
if what == "ports":
    held = [socket.socket() for _ in range(int(sys.argv[2]))]
    for s in held:
        s.bind(("127.0.0.1", 0))
    print(*[s.getsockname()[1] for s in held])
elif what == "tell":
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
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
    s = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5)
    post = "POST /fault?%s HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
    text = post % sys.argv[3] if what == "fault" else sys.argv[3]
    s.sendall(text.encode().decode("unicode_escape").encode())
    print(s.recv(1000).decode().strip())
END
tool() { python3 -S -E "$work/tool.py" "$@"; }

haproxy_pid='' companion_pid=''
stop_all()
{
    for p in $companion_pid $haproxy_pid; do kill "$p" 2>/dev/null; done
    for p in $companion_pid $haproxy_pid; do wait "$p" 2>/dev/null; done
    stop_backends
}
trap 'stop_all; rm -rf "$work"' EXIT

start_backend --servers 2,2,2,2@0.2
backend_ports=$ports admin_port=$admin
# shellcheck disable=SC2046
set -- $(tool ports 1)
front=$1

# What docs/haproxy.md tells to write.
configure() # more words of each server line
{
    cat <<END
global
    stats socket $work/admin.sock mode 600 level admin
    log 127.0.0.1:$log_port len 1024 format raw local0
    maxconn 500
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client 5s
    timeout server 5s
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

start_haproxy()
{
    haproxy -db -f "$work/h.cfg" >"$work/haproxy.out" 2>&1 &
    haproxy_pid=$!
    tries=0
    while [ $tries -lt 50 ] && ! tool tell "$work/admin.sock" "show info" 2>/dev/null |
        grep -q "^Pid: $haproxy_pid$"; do
        sleep 0.05
        tries=$((tries + 1))
    done
    if [ $tries -lt 50 ]; then pass; else fail "haproxy" "does not start: $(cat "$work/haproxy.out")"; fi
}

start_companion() # options
{
    rm -f "$work/companion.out"
    $companion --backend be --status "$work/status" --for 60 "$@" >"$work/companion.out" 2>"$work/companion.err" &
    companion_pid=$!
    tries=0
    while ! grep -q '^ready$' "$work/companion.out" 2>/dev/null && [ $tries -lt 100 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    log_port=$(sed -n 's/^log .*:\([0-9]*\)$/\1/p' "$work/companion.out")
    agent_port=$(sed -n 's/^agent .*:\([0-9]*\)$/\1/p' "$work/companion.out")
}

end_of() # pid: its status
{
    kill "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

weight() { tool tell "$work/admin.sock" "show servers state be" | awk -v s="s$1" '$4 == s { print $8 }'; }
counted()
{
    kill -USR1 $companion_pid
    sleep 0.1
    sed -n "s/^rllb_haproxy_$1 //p" "$work/status"
}
send() # seconds, rate, seed
{
    build/http/load --url "http://127.0.0.1:$front/" --rate "$2" --duration "$1" --work 10:exp --timeout 5 \
        --seed "$3" --out "$work/l" --quiet >/dev/null 2>&1
}
result() { sed -n "s/.*\"counts\": {.*\"$1\": \([0-9]*\).*/\1/p" "$work/l/results.json"; }
soon() # name, command...: true within four seconds
{
    soon_name=$1 tries=0
    shift
    while [ $tries -lt 40 ]; do
        if "$@"; then pass; return; fi
        sleep 0.1
        tries=$((tries + 1))
    done
    fail "$soon_name" "not within four seconds: $(weight 0) $(weight 1) $(weight 2) $(weight 3)"
}

check "the example's settings" haproxy -c -f examples/haproxy/haproxy.cfg

# ---- learns ----------------------------------------------------------------------------------------------------------

start_companion --socket "$work/admin.sock" --state "$work/state"
first_log=$log_port
configure >"$work/h.cfg"
start_haproxy
send 3 220 1
holds "nothing is lost while it learns" "$(result failed)" '==' 0
holds "the slow server has less" "$(weight 3)" '<' 170
holds "the slow server has some" "$(weight 3)" '>=' 1
holds "the others have more" "$(weight 0)" '>' 190
lines=$(($(counted lines_total) + $(counted lines_unknown_total))) # unknown: before HAProxy told its servers
holds "every request has its line" $lines '==' "$(result sent)"
# A poll every quarter of a second: what ended since the last one is not counted yet.
holds "HAProxy counts as many" "$(counted ended_total)" '>=' "$(($(result sent) - 60))"
holds "nothing was refused" "$(counted weights_refused_total)" '==' 0

# ---- fails fast ------------------------------------------------------------------------------------------------------

tool fault "$admin_port" "kind=fail&server=s1" >/dev/null
send 2 200 2 &
sending=$!
left() { [ "$(weight 1)" -le 1 ]; }
soon "a server that fails is left" left
wait $sending
holds "few requests met the failing server" "$(result failed)" '<' 60
tool fault "$admin_port" "kind=none&server=s1" >/dev/null
send 3 200 3 &
sending=$!
back() { [ "$(weight 1)" -gt 20 ]; }
soon "it is back" back
wait $sending

# ---- the operator ----------------------------------------------------------------------------------------------------

tool tell "$work/admin.sock" "set server be/s2 state maint;set weight be/s2 33" >/dev/null
send 0.5 150 4
holds "maintenance: its weight stays" "$(weight 2)" '==' 33
tool tell "$work/admin.sock" "set server be/s2 state ready" >/dev/null
ours() { [ "$(weight 2)" -gt 60 ]; }
soon "back from maintenance: ours again" ours

# ---- garbage, floods -------------------------------------------------------------------------------------------------

tool flood "$first_log" 300 'be/s0 no line'
tool flood "$first_log" 30000 'be/s9 0/0/0/9/9 200 ---- 1/1/1/1/0 0/0'
tool flood "$first_log" 50 '\x00\xff\n'
sleep 0.2
holds "wrong lines are counted" "$(counted lines_wrong_total)" '>=' 300
holds "strangers are counted" "$(counted lines_unknown_total)" '>' 1000
if kill -0 $companion_pid 2>/dev/null; then pass; else fail "flood" "ended the companion"; fi

# ---- restarts --------------------------------------------------------------------------------------------------------

before=$(weight 3)
end_of $haproxy_pid
start_haproxy
again() { [ "$(weight 3)" -lt 100 ] || [ "$(weight 0)" -gt 200 ]; }
soon "HAProxy restarted: weights are set anew" again
holds "the restart is counted" "$(counted restarts_total)" '==' 1
end_of $companion_pid
holds "SIGTERM: ends well" $? '==' 0
if [ -s "$work/state" ]; then pass; else fail "state" "no file"; fi
grep -v 'answers again' "$work/companion.err" | grep -v 'trying again$' >"$work/said"
if [ -s "$work/said" ]; then fail "stderr" "$(cat "$work/said")"; else pass; fi
kept=$(weight 3)
holds "weights stay when it ends" "$kept" '<' 200

check "--reset" $companion --socket "$work/admin.sock" --backend be --reset
holds "--reset: as configured" "$(weight 3)$(weight 0)" '==' 100100

start_companion --socket "$work/admin.sock" --shadow --log "127.0.0.1:$first_log" --state "$work/state"
send 0.5 100 5
holds "--shadow: nothing is set" "$(weight 3)$(weight 0)" '==' 100100
holds "--shadow: it decides" "$(counted 'wanted{server="s3"}')" '<' 200
end_of $companion_pid
start_companion --socket "$work/admin.sock" --dry-run --log "127.0.0.1:$first_log" --state "$work/state"
sleep 0.6
if grep -q '^set weight be/s0 [0-9]*;.*set weight be/s3 [0-9]*$' "$work/companion.out"; then pass
else fail "--dry-run" "$(cat "$work/companion.out")"; fi
holds "--dry-run: nothing is set" "$(weight 3)$(weight 0)" '==' 100100
end_of $companion_pid

chmod 622 "$work/admin.sock"
start_companion --socket "$work/admin.sock" --log "127.0.0.1:$first_log" --state "$work/state"
if grep -q 'may be written by everybody' "$work/companion.err"; then pass; else fail "rights" "no warning"; fi
chmod 600 "$work/admin.sock"
near() { awk -v a="$(weight 3)" -v b="$kept" 'BEGIN { exit !(a > 0.5 * b && a < 2 * b && a < 100) }'; }
if [ "$kept" -lt 90 ]; then soon "state: goes on where it was (was $before, $kept)" near; else pass; fi
# Killed, not ended: requests go on, weights stay.
kill -9 $companion_pid
wait $companion_pid 2>/dev/null
send 0.5 150 6
holds "the companion is killed: nothing fails" "$(result failed)" '==' 0
end_of $haproxy_pid

# ---- agent checks ----------------------------------------------------------------------------------------------------

start_companion --agent 127.0.0.1:0 --servers s0,s1,s2,s3 --log "127.0.0.1:$first_log"
configure "agent-check agent-port $agent_port agent-inter 200ms agent-send NAME\\n" >"$work/h.cfg"
start_haproxy
send 3 220 7
sleep 0.3
holds "agent: the slow server has less" "$(weight 3)" '<' 180
holds "agent: the others have more" "$(weight 0)" '>' 190
output=$(tool agent "$agent_port" 's1\n')
if echo "$output" | grep -q '^[0-9]*%$'; then pass; else fail "agent" "says $output"; fi
output=$(tool agent "$agent_port" 'nobody\n')
if [ -z "$output" ]; then pass; else fail "agent: a stranger" "is told $output"; fi
holds "agent: strangers are counted" "$(counted agent_strangers_total)" '==' 1
end_of $companion_pid
holds "agent: ends well" $? '==' 0
finish
