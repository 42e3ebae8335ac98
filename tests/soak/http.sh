#!/bin/sh
# The proxy under random faults for SOAK_SECONDS (600): a server slows down, stops, hangs, resets or fails, settings are
# read again, and all the while requests come. Then: sent = ok + failed at the client, the access log has a line for
# each, nothing was lost by faults that another server can make good, memory is flat, and the proxy ends at once, so
# that no request is stuck. `make soak` calls it; the faults are those of SOAK_SEED (1).
#
# With sanitizers: PROXY=build/test/http_proxy.asan. Their memory grows by what they hold back of what was freed: then
# it is not judged.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

seconds=${SOAK_SECONDS:-600} seed=${SOAK_SEED:-1} rate=${SOAK_RATE:-500} proxy=${PROXY:-build/http/proxy}
for p in "$proxy" build/http/backend build/http/load; do
    if [ ! -x "$p" ]; then
        skip "$p" "not built"
        finish
    fi
done
if [ ! -r /proc/self/statm ]; then
    skip "soak" "there is no /proc to read a program's memory from"
    finish
fi

pids=''
trap 'for p in $pids; do kill -9 "$p" 2>/dev/null; done; rm -rf "$work"' EXIT

wait_for() # file, pattern
{
    tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then fail "$1" "no line '$2'"; finish; fi
        sleep 0.05
    done
}

# A fault every three seconds, at one of six servers, for half a second to four seconds. 500s are the server's own
# answer and reach the client, so they are at one server only and counted apart.
awk -v seconds="$seconds" -v seed="$seed" 'BEGIN {
    srand(seed)
    split("slow stop hang reset stop", kinds)
    for (t = 2; t < seconds - 6; t += 3) {
        server = int(6 * rand())
        kind = server == 5 && rand() < 0.3 ? "fail" : kinds[1 + int(5 * rand())]
        extra = kind == "slow" ? " factor=5" : ""
        printf "t=%.2f server=%d kind=%s%s seconds=%.2f\n", t + rand(), server, kind, extra, 0.5 + 3.5 * rand()
    }
}' >"$work/faults"
build/http/backend --servers 6x8 --base-delay 5 --law exponential --script "$work/faults" --seed "$seed" \
    --for $((seconds + 60)) >"$work/backend" 2>&1 &
pids="$pids $!"
wait_for "$work/backend" '^ready'

settings() # policy
{
    {
        echo "listen 127.0.0.1:0"
        echo "admin off"
        echo "policy $1"
        echo "state $work/state"
        echo "access-log $work/log.csv"
        echo "timeouts response=1 connect=0.5"
        echo "retries 4"
        echo "health /health interval=0.5 timeout=0.3"
        sed -n 's/^server \([^ ]*\) \(.*\)$/server \1 \2/p' "$work/backend"
    } >"$work/conf"
}
settings learned
"$proxy" --config "$work/conf" >"$work/proxy" 2>"$work/proxy.err" &
pid=$!
pids="$pids $pid"
wait_for "$work/proxy" '^listening'
at=$(sed -n 's/^listening on //p' "$work/proxy")
build/http/load --url "http://$at/" --rate "$rate" --duration "$seconds" --timeout 20 --seed "$seed" --quiet \
    --out "$work/load" >"$work/load.out" 2>&1 &
load=$!
pids="$pids $load"

# Resident memory in pages, each five seconds; new settings each half a minute, in turn of all kinds of policies.
: >"$work/memory"
n=0
while kill -0 $load 2>/dev/null && [ $((n * 5)) -lt $((seconds + 60)) ]; do
    sleep 5
    n=$((n + 1))
    awk '{ print $2 }' "/proc/$pid/statm" >>"$work/memory" 2>/dev/null || break
    if [ $((n % 6)) -eq 0 ]; then
        case $((n / 6 % 5)) in
        0) settings learned ;; 1) settings q_learning ;; 2) settings lsq ;; 3) settings prequal ;; 4) settings maglev ;;
        esac
        kill -HUP $pid
    fi
done
wait $load

count() { sed -n "s/.*\"counts\": *{[^}]*\"$1\": *\([0-9]*\).*/\1/p" "$work/load/results.json" | head -n 1; }
begin=$(date +%s)
kill -TERM $pid
wait $pid
status=$?
took=$(($(date +%s) - begin))
if [ $status -eq 0 ] && [ $took -le 4 ]; then pass
else fail "the end" "status $status after $took s: $(head -n 3 "$work/proxy.err")"; fi

echo "sent $(count sent), ok $(count ok), failed $(count failed): status $(count status), refused $(count refused), \
timeout $(count timeout), closed $(count closed), broken $(count broken)"
least=$((seconds * rate * 9 / 10))
if [ "$(count sent)" -ge $least ] && [ "$(count sent)" -eq $(($(count ok) + $(count failed))) ]; then pass
else fail "the client's sum"; fi
if [ $(($(count refused) + $(count timeout) + $(count closed) + $(count broken))) -eq 0 ]; then pass
else fail "a fault reached a client" "though another server could have made it good"; fi
rows=$(($(wc -l <"$work/log.csv") - 1))
if [ $rows -eq "$(count sent)" ]; then pass; else fail "access log" "$rows rows"; fi
awk -F, 'NR > 1 { n[$NF]++; if ($7 > 1) again++ }
    END { for (k in n) printf "%s %d, ", k, n[k]; print again + 0, "tried again" }' "$work/log.csv"
# What failed, failed by a server's own 500.
own=$(awk -F, 'NR > 1 && $5 == 500 && $6 != "" { n++ } END { print n + 0 }' "$work/log.csv")
if [ "$own" -eq "$(count failed)" ]; then pass; else fail "failures" "$own of $(count failed) are a server's own"; fi
awk '{ m = $1 * 4 / 1024; part = NR > 2 * n / 3 ? 2 : NR > n / 3 ? 1 : 0; if (m > most[part]) most[part] = m }
    END { printf "%.1f %.1f %.1f\n", most[0], most[1], most[2] }' n="$(wc -l <"$work/memory")" "$work/memory" \
    >"$work/thirds"
echo "memory at most, MiB, in each third: $(cat "$work/thirds"); settings read again $(grep -c '^settings read again' \
    "$work/proxy") times"
case $proxy in
*asan*) ;;
*) if awk '{ exit !($3 <= 1.1 * $2 + 1) }' "$work/thirds"; then pass; else fail "memory" "it grows"; fi ;;
esac
finish
