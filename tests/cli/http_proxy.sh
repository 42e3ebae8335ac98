#!/bin/sh
# The proxy, backends and load together: no request is lost when a backend is killed, settings change or the proxy ends.
# What single requests meet with is in tests/test_http_proxy.c.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
a_at='' b_at='' c_at='' b_pid=''

for p in proxy backend load; do
    if [ ! -x "build/http/$p" ]; then
        skip "build/http/$p" "libuv and http-parser are missing"
        finish
    fi
done

pids=
end_all()
{
    for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap end_all EXIT

# Waits up to ten seconds for a line of the file.
wait_for()
{
    waited=0
    until grep -q "$2" "$1" 2>/dev/null; do
        waited=$((waited + 1))
        if [ $waited -gt 200 ]; then fail "$1" "no line '$2'"; return 1; fi
        sleep 0.05
    done
}

# Waits up to ten seconds for the end of a process of ours; its status.
wait_end()
{
    waited=0
    while kill -0 "$1" 2>/dev/null; do
        waited=$((waited + 1))
        if [ $waited -gt 200 ]; then fail "$2" "does not end"; return 1; fi
        sleep 0.05
    done
    wait "$1"
}

start_backend() # name
{
    build/http/backend --servers 1x64 --name "$1" >"$work/$1" 2>&1 &
    eval "$1_pid=$!"
    pids="$pids $!"
    wait_for "$work/$1" '^ready'
    eval "$1_at=$(sed -n 's/^server [^ ]* //p' "$work/$1")"
}

start_proxy() # arguments
{
    build/http/proxy --config "$work/conf" "$@" >"$work/proxy" 2>"$work/proxy.err" &
    proxy_pid=$!
    pids="$pids $!"
    wait_for "$work/proxy" '^listening'
    at=$(sed -n 's/^listening on //p' "$work/proxy")
}

count() { sed -n "s/.*\"counts\": *{[^}]*\"$1\": *\([0-9]*\).*/\1/p" "$work/load/results.json" | head -n 1; }

start_load()
{
    build/http/load --url "http://$at/" --quiet --out "$work/load" "$@" >"$work/load.out" 2>&1 &
    load_pid=$!
    pids="$pids $!"
}

# All that was sent was answered well, and it was some thousands.
nothing_lost() # name, least
{
    wait_end "$load_pid" "$1"
    if [ "$(count failed)" = 0 ] && [ "$(count sent)" = "$(count ok)" ] && [ "$(count ok)" -ge "$2" ]; then pass
    else
        fail "$1" "sent $(count sent), ok $(count ok), failed $(count failed): refused $(count refused), timeout \
$(count timeout), closed $(count closed), status $(count status), broken $(count broken)"
    fi
}

check_status 2 "wrong usage" build/http/proxy --listen nonsense
one=$(printf '%s\n' "$output" | wc -l)
if [ "$one" -eq 1 ]; then pass; else fail "wrong usage" "$one lines"; fi

for b in a b c; do start_backend $b; done
begin="listen 127.0.0.1:0
admin off
clients 1000"
settings() { printf '%s\n' "$begin" "$@" >"$work/conf"; }

# One of three is killed, and comes back; what was lost on the way is made good elsewhere.
settings "server a $a_at" "server b $b_at" "server c $c_at"
start_proxy --access-log "$work/log.csv" --state "$work/state"
start_load --rate 1500 --duration 2
sleep 0.8
kill -9 "$b_pid"
sleep 0.7
build/http/backend --servers 1x64 --name b --port "${b_at##*:}" >"$work/b" 2>&1 &
b_pid=$!
pids="$pids $!"
nothing_lost "a backend is killed" 2500
if [ $(($(wc -l <"$work/log.csv") + 0)) -le $(($(count sent) + 1)) ]; then pass; else fail "access log" "too long"; fi

# New settings, five times under load.
start_load --rate 1500 --duration 2
sleep 0.3
settings "server a $a_at" "server c $c_at"
kill -HUP "$proxy_pid"
sleep 0.3
settings "server a $a_at weight=3" "server b $b_at" "server c $c_at" "policy learned"
kill -HUP "$proxy_pid"
sleep 0.3
settings "server a $a_at" "sever b $b_at"
kill -HUP "$proxy_pid"
sleep 0.3
settings "server b $b_at" "server d $a_at" "policy maglev" "key target"
kill -HUP "$proxy_pid"
sleep 0.3
settings "server a $a_at" "server b $b_at" "server c $c_at" "policy q_learning" "access-log $work/log.csv"
kill -HUP "$proxy_pid"
nothing_lost "settings are read again" 2500
for line in '2 servers, policy sed' '3 servers, policy learned' '2 servers, policy maglev' \
    '3 servers, policy q_learning'; do
    if grep -q "^settings read again: $line" "$work/proxy"; then pass; else fail "reload" "no line '$line'"; fi
done
if [ "$(wc -l <"$work/proxy.err")" -eq 1 ] && grep -q 'conf:5: ' "$work/proxy.err"; then pass
else fail "broken settings" "$(cat "$work/proxy.err")"
fi

# It ends under load: what was accepted is answered, what comes later is refused, and nothing else happens.
start_load --rate 1500 --duration 1.5
sleep 0.8
kill -TERM "$proxy_pid"
wait_end "$proxy_pid" "SIGTERM"
status=$?
if [ $status -eq 0 ]; then pass; else fail "SIGTERM" "exit status $status"; fi
wait_end "$load_pid" "load"
if [ "$(count ok)" -ge 900 ] && [ "$(count sent)" = $(($(count ok) + $(count refused))) ]; then pass
else
    fail "drain" "sent $(count sent), ok $(count ok), refused $(count refused), timeout $(count timeout), closed \
$(count closed), status $(count status), broken $(count broken)"
fi
if [ -s "$work/state" ]; then pass; else fail "state" "was not saved"; fi

# Counted by the servers, too: each request once, over few connections.
start_proxy --policy lsq
before=$(grep -c . "$work/log.csv")
start_load --concurrency 8 --requests 3000 --duration 10
nothing_lost "closed loop" 3000
kill -TERM "$proxy_pid"
wait_end "$proxy_pid" "the second end"
rows=$(($(grep -c . "$work/log.csv") - before))
if [ "$rows" -eq 3000 ]; then pass; else fail "access log" "$rows rows, should be 3000"; fi
finish
