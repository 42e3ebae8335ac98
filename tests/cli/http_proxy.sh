#!/bin/sh
# The proxy, backends and load together: no request is lost when a backend is killed, settings change or the proxy ends.
# What single requests meet with is in tests/test_http_proxy.c. The load is a closed loop of requests that take 10 ms
# each at least: it lasts for seconds, and asks no more than the machine can do.

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

# Waits up to a minute for a line of the file.
wait_for() # file, line
{
    end=$(($(date +%s) + 60))
    until grep -q "$2" "$1" 2>/dev/null; do
        if [ "$(date +%s)" -gt $end ]; then fail "$1" "no line '$2'"; return 1; fi
        sleep 0.02
    done
}

# Waits up to a minute for the end of a process of ours; its status.
wait_end()
{
    end=$(($(date +%s) + 60))
    while kill -0 "$1" 2>/dev/null; do
        if [ "$(date +%s)" -gt $end ]; then fail "$2" "does not end"; return 1; fi
        sleep 0.02
    done
    wait "$1"
}

# At an address of this test's own, where there is one: nobody else takes the port of a backend that was killed.
own=127.$(($$ / 65536 % 64 + 1)).$(($$ / 256 % 256)).$(($$ % 256))
if ! build/http/backend --host $own --for 0.01 >/dev/null 2>&1; then own=127.0.0.1; fi

start_backend() # name
{
    build/http/backend --host $own --servers 1x64 --name "$1" >"$work/$1" 2>&1 &
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

# Sixteen at a time, and says when the first of them are under way, where that can be seen.
start_load() # how many
{
    build/http/load --url "http://$at/" --quiet --out "$work/load" --concurrency 16 --requests "$1" --work 10:fixed \
        --timeout 60 >"$work/load.out" 2>&1 &
    load_pid=$!
    pids="$pids $!"
    end=$(($(date +%s) + 60))
    while [ -r /proc/self/fd ] && [ "$(find "/proc/$load_pid/fd" -lname 'socket:*' 2>/dev/null | wc -l)" -lt 16 ] &&
        [ "$(date +%s)" -le $end ]; do sleep 0.02; done
}

# All that was sent was answered well.
nothing_lost() # name, how many
{
    wait_end "$load_pid" "$1"
    if [ "$(count failed)" = 0 ] && [ "$(count sent)" = "$2" ] && [ "$(count ok)" = "$2" ]; then pass
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
start_load 3000
sleep 0.5
kill -9 "$b_pid"
sleep 0.5
build/http/backend --host $own --servers 1x64 --name b --port "${b_at##*:}" >"$work/b" 2>&1 &
b_pid=$!
pids="$pids $!"
nothing_lost "a backend is killed" 3000
if [ $(($(wc -l <"$work/log.csv") + 0)) -le $(($(count sent) + 1)) ]; then pass; else fail "access log" "too long"; fi

# New settings, five times under load.
again() # what is said then, where; then there is some traffic
{
    kill -HUP "$proxy_pid"
    wait_for "$work/${2:-proxy}" "$1"
    sleep 0.1
}
start_load 2000
settings "server a $a_at" "server c $c_at"
again '^settings read again: 2 servers, policy sed'
settings "server a $a_at weight=3" "server b $b_at" "server c $c_at" "policy learned"
again '^settings read again: 3 servers, policy learned'
settings "server a $a_at" "sever b $b_at"
again 'conf:5: ' proxy.err
settings "server b $b_at" "server d $a_at" "policy maglev" "key target"
again '^settings read again: 2 servers, policy maglev'
settings "server a $a_at" "server b $b_at" "server c $c_at" "policy q_learning" "access-log $work/log.csv"
again '^settings read again: 3 servers, policy q_learning'
nothing_lost "settings are read again" 2000
for line in '2 servers, policy sed' '3 servers, policy learned' '2 servers, policy maglev' \
    '3 servers, policy q_learning'; do
    if grep -q "^settings read again: $line" "$work/proxy"; then pass; else fail "reload" "no line '$line'"; fi
done
if [ "$(wc -l <"$work/proxy.err")" -eq 1 ] && grep -q 'conf:5: ' "$work/proxy.err"; then pass
else fail "broken settings" "$(cat "$work/proxy.err")"
fi

# It ends under load: what was accepted is answered, what comes later is refused, and nothing else happens. The load's
# connections were all accepted before.
start_load 6000
sleep 0.3
kill -TERM "$proxy_pid"
wait_end "$proxy_pid" "SIGTERM"
status=$?
if [ $status -eq 0 ]; then pass; else fail "SIGTERM" "exit status $status"; fi
wait_end "$load_pid" "load"
if [ "$(count ok)" -ge 16 ] && [ "$(count refused)" -gt 0 ] && [ "$(count sent)" = 6000 ] &&
    [ "$(count sent)" = $(($(count ok) + $(count refused))) ]; then pass
else
    fail "drain" "sent $(count sent), ok $(count ok), refused $(count refused), timeout $(count timeout), closed \
$(count closed), status $(count status), broken $(count broken)"
fi
if [ -s "$work/state" ]; then pass; else fail "state" "was not saved"; fi

# Counted by the log, too: each request once, over few connections.
start_proxy --policy lsq
before=$(grep -c . "$work/log.csv")
start_load 1000
nothing_lost "closed loop" 1000
kill -TERM "$proxy_pid"
wait_end "$proxy_pid" "the second end"
rows=$(($(grep -c . "$work/log.csv") - before))
if [ "$rows" -eq 1000 ]; then pass; else fail "access log" "$rows rows, should be 1000"; fi
finish
