#!/bin/sh
# The program load: the same seed sends the same requests at the same times, they are drawn as said, a stall shows in an
# open loop and hides in a closed one, every kind of failure is counted as what it is, and what was sent is what was
# answered or failed. Input that is wrong is one line.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/http.inc

load=build/http/load
if [ ! -x build/http/backend ] || [ ! -x $load ]; then
    skip "http_load" "build/http/load is not built: libuv and http-parser are not installed"
    finish
fi

check "--help" $load --help
for word in --url --rate --arrivals --concurrency --sequential --work --timeout --warmup --window --log 'sent twice' \
    '[out/load]'; do says "--help" "$word"; done

# ---- wrong input -----------------------------------------------------------------------------------------------------

no="$load --out $work/no"
one_line 2 "--url: is missing" $no
for url in 127.0.0.1:80 https://127.0.0.1/ http:// http://127.0.0.1:99999/ 'http://127.0.0.1/ x' \
    'http://127.0.0.1/,'; do
    one_line 2 "--url: " $no --url "$url"
done
one_line 2 "--url: 'nowhere.example' is not an address" $no --url http://nowhere.example/
url=http://127.0.0.1:9/
for w in x 5: 5:odd -1 :exp nan 1e9; do one_line 2 "--work: " $no --url $url --work $w; done
one_line 2 "--work: trace needs --arrivals trace" $no --url $url --work 5:trace
one_line 2 "--trace: is missing" $no --url $url --arrivals trace
one_line 2 "--trace: has no use without --arrivals trace" $no --url $url --trace "$work/none"
one_line 1 "$work/none" $no --url $url --arrivals trace --trace "$work/none"
printf 'time,work\n1,2\n3,two\n' >"$work/broken"
one_line 1 "$work/broken:3: " $no --url $url --arrivals trace --trace "$work/broken"
printf 'time,count\n0,5\n1,10\n2,15\n' >"$work/amounts"
one_line 2 "--work: the trace has amounts" $no --url $url --arrivals trace --trace "$work/amounts" --work 3:trace
one_line 2 "--sequential: has no use with --concurrency" $no --url $url --sequential --concurrency 3
one_line 2 "--rate: has no use with --concurrency" $no --url $url --rate 5 --concurrency 3
one_line 2 "--arrivals: has no use in a closed loop" $no --url $url --arrivals uniform --sequential
one_line 2 "--warmup" $no --url $url --warmup 1
one_line 2 "--rate" $no --url $url --rate 0
if [ -e "$work/no" ]; then fail "wrong input" "leaves a folder"; else pass; fi
: >"$work/file"
check_status 1 "--out is a file" $load --url $url --out "$work/file"

# ---- what is sent, and when ------------------------------------------------------------------------------------------

count() { sed -n "s/.*\"counts\": {.*\"$1\": \([0-9]*\).*/\1/p" "$work/l/results.json"; }
latency() { sed -n "s/.*\"latency_ms\": {.*\"$1\": \([0-9.]*\).*/\1/p" "$work/l/results.json"; }
adds_up()
{
    holds "$1: sent = ok + failed" "$(count sent)" '==' "$(($(count ok) + $(count failed)))"
    holds "$1: failed, kind by kind" "$(count failed)" '==' "$(($(count refused) + $(count timeout) + $(count closed) +
        $(count status) + $(count broken) + $(count abandoned)))"
}

start_backend --servers 2x8 --bytes 77
here="$load --url http://127.0.0.1:$port/,http://127.0.0.1:$(echo "$ports" | tail -n 1)/x?y=1 --out $work/l"
one="$load --url http://127.0.0.1:$port/ --out $work/l"
check "a run" $here --rate 1500 --duration 1 --window 0.25 --work 2:exp --log "$work/a.csv" --seed 5
says "a run" "+ failed 0;"
says "a run" "P99.9"
schema http_load "$work/l/results.json"
adds_up "a run"
holds "a run: rows" "$(count sent)" '==' "$(($(wc -l <"$work/a.csv") - 1))"
holds "a run: windows" "$(grep -c '"from_s"' "$work/l/results.json")" '==' 4
holds "a run: sum of windows" "$(count sent)" '==' "$(sed -n 's/.*"from_s".*"sent": \([0-9]*\).*/\1/p' \
    "$work/l/results.json" | awk '{ s += $1 } END { print s }')"
if awk -F, 'NR > 1 && ($3 != 200 || $5 != 77 || $7 != "ok" || $4 !~ /^s[01]$/) { bad = 1 }
            END { exit bad }' "$work/a.csv"
then pass; else fail "a run" "its log has something else"; fi
# Two targets at random: 1,500 tosses, four standard deviations.
share=$(awk -F, 'NR > 1 { n++; s += $4 == "s0" } END { print s / n }' "$work/a.csv")
holds "targets" "$share" '>' 0.448
holds "targets" "$share" '<' 0.552
# Exponential gaps and demands: their means within four standard errors, a share of exp(-1) above the mean.
gaps=$(awk -F, 'NR > 1 { n++; last = $1; w += $6; above += $6 > 2 }
                END { print n, last / n * 1500, w / n / 2, above / n }' "$work/a.csv")
set -- $gaps
for v in "$2" "$3"; do
    holds "means" "$v" '>' 0.9
    holds "means" "$v" '<' 1.1
done
holds "law" "$4" '>' 0.318
holds "law" "$4" '<' 0.418
check "the same again" $here --rate 1500 --duration 1 --work 2:exp --log "$work/b.csv" --seed 5 --quiet
if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
check "another seed" $here --rate 1500 --duration 0.2 --work 2:exp --log "$work/c.csv" --seed 6 --quiet
for f in a b c; do cut -d, -f 1,4,6 "$work/$f.csv" >"$work/$f.sent"; done
if cmp -s "$work/a.sent" "$work/b.sent"; then pass; else fail "the same seed" "other requests"; fi
if cmp -s "$work/a.sent" "$work/c.sent"; then fail "another seed" "the same requests"; else pass; fi

check "uniform" $one --arrivals uniform --rate 100 --duration 0.5 --work 1:fixed --log "$work/u.csv" --quiet
if awk -F, 'NR > 1 && ($1 - (NR - 2) / 100) ^ 2 > 1e-9 { bad = 1 } END { exit bad || NR != 51 }' "$work/u.csv"
then pass
else fail "uniform" "$(head -n 3 "$work/u.csv")"; fi
printf 'time,work\n10,2\n10.1,4\n10.1,6\n10.4,8\n' >"$work/trace"
check "trace" $one --arrivals trace --trace "$work/trace" --work 10:trace --duration 0.9 --log "$work/t.csv" --quiet
if [ "$(cut -d, -f 1,6 "$work/t.csv" | tr '\n' ' ')" = "time_s,work_ms 0.000000,4.0000 0.100000,8.0000 \
0.100000,12.0000 0.400000,16.0000 0.533333,4.0000 0.633333,8.0000 0.633333,12.0000 " ]; then pass
else fail "trace" "$(cat "$work/t.csv")"; fi
check "amounts" $one --arrivals trace --trace "$work/amounts" --rate 1000 --duration 0.9 --log "$work/t.csv" --quiet
# 150, 300 and 450 expected of the three rows.
if awk -F, 'NR > 1 { n[int($1 / 0.3)]++ } END { exit !(n[0] > 100 && n[0] < 200 && n[1] > 230 && n[1] < 370 &&
    n[2] > 365 && n[2] < 535) }' "$work/t.csv"; then pass; else fail "amounts" "$(wc -l <"$work/t.csv") rows"; fi
check "sequential" $one --sequential --rate 50 --requests 10 --work 25:fixed --log "$work/s.csv"
says "sequential" "sent 10 = ok 10"
if awk -F, 'NR > 2 && $1 < end - 2e-6 { bad = 1 } NR > 1 { end = $1 + $2 / 1000 } END { exit bad }' "$work/s.csv"
then pass
else fail "sequential" "does not wait for the answer"; fi
check "closed loop" $one --concurrency 8 --requests 500
says "closed loop" "sent 500 = ok 500 + failed 0"
check "warmup" $one --rate 400 --duration 0.5 --warmup 0.5
holds "warmup" "$(sed -n 's/.*"latency_ms": {"count": \([0-9]*\).*/\1/p' "$work/l/results.json")" '<' \
    "$(($(count sent) * 3 / 4))"
stop_backends

# ---- a stall ---------------------------------------------------------------------------------------------------------

# From 0.3 s after the first request for 0.6 s. Whatever else stops meanwhile shows in the open loop too.
stall="t=0.3 kind=hang seconds=0.6"
start_backend --fault "$stall"
one="$load --url http://127.0.0.1:$port/ --out $work/l"
check "a stall, open loop" $one --rate 200 --duration 1.2 --work 1:fixed
open=$(latency p90)
stop_backends
start_backend --fault "$stall"
one="$load --url http://127.0.0.1:$port/ --out $work/l"
check "a stall, closed loop" $one --concurrency 1 --requests 400 --work 1:fixed
closed=$(latency p90)
# Half of the open loop's requests meet the stall, and one in five waits for 360 ms or more; of the closed loop's 400,
# which take 0.4 s at least and so last into it, one: or two, if the load itself had no processor as it began.
holds "a stall shows" "$open" '>' 360
holds "a closed loop hides it" "$closed" '<' 300
holds "but for one" "$(latency max)" '>' 290
stop_backends

# ---- failures --------------------------------------------------------------------------------------------------------

start_backend --servers 1 --fault "t=0 kind=hang"
one="$load --url http://127.0.0.1:$port/ --out $work/l"
check "timeout" $one --rate 50 --duration 0.4 --timeout 0.2
adds_up "timeout"
holds "timeout" "$(count timeout)" '==' "$(count sent)"
check "few connections" $one --rate 50 --duration 0.4 --timeout 0.2 --connections 2
holds "few connections" "$(count timeout)" '==' "$(count sent)"

# Stopped by Ctrl-C. Its handler is there before its first connection is; where that cannot be seen, a moment must do.
# Nothing is answered, so that there is something to abandon.
connects() { find "/proc/$loading/fd" -lname 'socket:*' 2>/dev/null | grep -q .; }
$load --url "http://127.0.0.1:$port/" --rate 100 --duration 60 --timeout 60 --out "$work/i" --log "$work/i.csv" \
    >"$work/i.out" 2>&1 &
loading=$!
if [ -r /proc/self/fd ]; then await connects; else sleep 2; fi
kill -INT "$loading"
wait "$loading"
holds "Ctrl-C: exit status" $? '==' 1
if grep -q '"stopped": true' "$work/i/results.json" && grep -q 'abandoned' "$work/i.out" && [ -s "$work/i.csv" ]; then
    pass
else fail "Ctrl-C" "$(cat "$work/i.out")"; fi
stop_backends

# At an address of this test's own, where there is one, so that nobody else's server takes the port.
own=127.$(($$ / 65536 % 64 + 1)).$(($$ / 256 % 256)).$(($$ % 256))
if ! build/http/backend --host $own --for 0.01 >/dev/null 2>&1; then own=127.0.0.1; fi
start_backend --host $own
gone=$port
stop_backends
check "refused" $load --url "http://$own:$gone/" --rate 50 --duration 0.2 --out "$work/l"
adds_up "refused"
holds "refused" "$(count refused)" '==' "$(count sent)"
check "refused, closed loop" $load --url "http://$own:$gone/" --concurrency 2 --requests 20 --out "$work/l"
holds "refused, closed loop" "$(count refused)" '==' 20

# Of three servers one breaks off, one fails and one is well, from the first request on; who gets how many is the
# seed's to say.
start_backend --servers 3x8 --fault "t=0 server=0 kind=reset,t=0 server=1 kind=fail"
check "status and reset" $load --url "$(echo "$ports" | sed 's|.*|http://127.0.0.1:&/|' | paste -s -d , -)" --rate 400 \
    --duration 0.5 --out "$work/l"
adds_up "status and reset"
for kind in closed status ok; do holds "status and reset: $kind" "$(count $kind)" '>' 40; done
holds "status and reset" "$(count sent)" '==' "$(($(count closed) + $(count status) + $(count ok)))"
stop_backends

if ! have python3; then
    skip "odd servers" "python3 is not installed"
    finish
fi
cat >"$work/odd.py" <<'END'
import socket, sys, threading
answers = {
    "/garbage": b"SPAM\r\n\r\n",
    "/half": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "/nothing": b"",
    "/close": b"HTTP/1.0 200 OK\r\n\r\nuntil it closes",
    "/chunks": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "/interim": b"HTTP/1.1 100 Continue\r\n\r\n"
                b"HTTP/1.1 204 No Content\r\nx-sErVeR:  odd one \r\nConnection: close\r\n\r\n",
    "/moved": b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "/more": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny",
}
def serve(c):
    try:
        asked = c.recv(65536).decode().split(" ")[1]
        c.sendall(answers[asked])
    except (OSError, IndexError, KeyError):
        pass
    c.close()
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(64)
print(s.getsockname()[1], flush=True)
threading.Timer(250, s.close).start()
try:
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
except OSError:
    pass
END
python3 "$work/odd.py" >"$work/odd.out" 2>&1 &
odd=$!
backends=$odd
await test -s "$work/odd.out"
port=$(cat "$work/odd.out")
for line in 'garbage broken' 'half closed' 'nothing closed' 'close ok' 'chunks ok' 'interim ok' 'moved status' \
    'more ok'; do
    set -- $line
    check "$1" $load --url "http://127.0.0.1:$port/$1" --concurrency 1 --requests 3 --timeout 60 --log "$work/o.csv" \
        --out "$work/l" --quiet
    holds "$1 is $2" "$(count "$2")" '==' 3
    adds_up "$1"
    if [ "$1" = interim ]; then
        if grep -q ',204,odd one,0,' "$work/o.csv"; then pass; else fail "$1" "$(cat "$work/o.csv")"; fi
    fi
done
kill -9 $odd

# A server whose queue of connections is full: those of the load are still opening when it ends.
cat >"$work/full.py" <<'END'
import socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(0)
held = [socket.socket() for _ in range(3)]
for h in held:
    h.setblocking(False)
    h.connect_ex(s.getsockname())
print(s.getsockname()[1], flush=True)
sys.stdin.read()
END
mkfifo "$work/hold"
python3 "$work/full.py" <"$work/hold" >"$work/full.out" 2>&1 &
exec 9>"$work/hold"
await test -s "$work/full.out"
$load --url "http://127.0.0.1:$(cat "$work/full.out")/" --rate 50 --duration 0.3 --timeout 0.3 --log "$work/o.csv" \
    --out "$work/l" --quiet >"$work/full.txt" 2>&1
if [ $? -lt 2 ]; then pass; else fail "ends while connections are opening" "$(cat "$work/full.txt")"; fi
exec 9>&-
finish
