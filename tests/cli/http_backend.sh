#!/bin/sh
# The program backend: what it answers (http_backend.py), in which order and when; faults on request and by a script;
# counters that add up; input that is wrong is one line. Times are compared with what the log's demands must give,
# reckoned by awk, with room above for a busy machine and none below.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/http.inc

backend=build/http/backend load=build/http/load
if [ ! -x $backend ] || [ ! -x $load ]; then
    skip "http_backend" "build/http/backend is not built: libuv and http-parser are not installed"
    finish
fi

check "--help" $backend --help
for word in --servers --base-delay --sharing --fault --script --admin-port 'factor=3' '[fixed]'; do
    says "--help" "$word"
done

# ---- wrong input -----------------------------------------------------------------------------------------------------

for spec in 0 2x 2x0 x2 2@ 2@0 2@-1 2x3x4 1.5 ''; do one_line 2 "--servers: " $backend --servers "$spec"; done
one_line 2 "--servers: more than 1024" $backend --servers 2000x1
one_line 2 "--base-delay" $backend --base-delay 5,-1
one_line 2 "--law" $backend --law odd
one_line 2 "--active: has no use without --sharing" $backend --active 40
one_line 2 "--host: 'localhost.' is not an address" $backend --host localhost.
one_line 2 "--port: 65535 and the 2 behind it" $backend --port 65535 --servers 3x1
one_line 2 "--fault: kind= is missing" $backend --fault "t=1"
one_line 2 "no fault is called 'slwo'" $backend --fault "t=1 kind=slwo"
one_line 2 "slow wants factor= or speed=" $backend --fault "t=1 kind=slow"
one_line 2 "factor is how many times as long it takes, at least 1, not '0.3'" $backend --fault "kind=slow factor=0.3"
one_line 2 "there is no server 's3'" $backend --servers 3x1 --fault "t=1 kind=stop server=s3"
one_line 2 "seconds is a number" $backend --fault "kind=stop seconds=-1"
one_line 2 "'wen' is not known" $backend --fault "kind=stop wen=1"
printf '# faults\n\nt=1 kind=stop # fine\nt=2 kind=stop server\n' >"$work/script"
one_line 1 "$work/script:4: 'server' is not of the form key=value" $backend --script "$work/script"
one_line 1 "$work/none" $backend --script "$work/none"

# ---- when answers come -----------------------------------------------------------------------------------------------
# $work/log: time_s,latency_ms,status,server,bytes,work_ms,result. Requests reach the server a little later than meant,
# so that nobody is done before a server that gets them on time would be.

reckon='# c slots; the others wait in order
    BEGIN { FS = "," }
    NR > 1 {
        at = $1 * 1000; best = 1
        for (i = 2; i <= c; i++) if (free[i] < free[best]) best = i
        free[best] = (free[best] > at ? free[best] : at) + $6 / speed
        reckoned = free[best] - at; sum += reckoned; error += $2 > reckoned ? $2 - reckoned : reckoned - $2
        n++; late += $2 - reckoned > 15; early += $2 < reckoned - 0.3
    }
    END { printf "count=%d mean=%.3f error=%.3f early=%d late=%d\n", n, sum / n, error / n, early, late }'
share='# c CPUs that all active ones share, a of them at most
    function finish(i) {
        took[i] = now - at[i]; delete left[i]; active--
        if (head < tail) { i = queue[++head]; left[i] = w[i]; active++ }
    }
    function run(to,    k, least, rate, m) {
        while (active > 0) {
            rate = active > c ? c / active : 1; least = 0
            for (k in left) if (!least || left[k] < left[least]) least = k
            if (now + left[least] / rate > to) break
            m = left[least]; now += m / rate
            for (k in left) left[k] -= m
            finish(least)
        }
        rate = active > c ? c / active : 1
        for (k in left) left[k] -= (to - now) * rate
        now = to
    }
    BEGIN { FS = "," }
    NR > 1 { n++; run($1 * 1000); at[n] = now; w[n] = $6; lasted[n] = $2
             if (active < a) { left[n] = $6; active++ } else queue[++tail] = n }
    END { run(1e9)
          for (i = 1; i <= n; i++) { e = lasted[i] - took[i]; error += e > 0 ? e : -e }
          printf "error=%.3f\n", error / n }'
of() { printf '%s\n' "$1" | sed -n "s/.*$2=\([0-9.]*\).*/\1/p"; }

start_backend --servers 2
check "two slots" $load --url "http://127.0.0.1:$port/" --rate 400 --duration 2.5 --work 2.5:exp --log "$work/log" \
    --out "$work/l" --quiet
two=$(awk -v c=2 -v speed=1 "$reckon" "$work/log")
one=$(awk -v c=1 -v speed=1 "$reckon" "$work/log")
# M/M/2 at load 0.5: 2.5 / (1 - 0.25) = 3.33 ms. These are a thousand requests, the same at every run: within 15 %.
holds "theory" "$(of "$two" mean)" '>' 2.83
holds "theory" "$(of "$two" mean)" '<' 3.83
holds "two slots: nobody is served early" "$(of "$two" early)" '<=' "$(($(of "$two" count) / 100))"
holds "two slots: most are served in time" "$(of "$two" late)" '<' "$(($(of "$two" count) / 2))"
holds "one slot would be something else" "$(of "$one" error)" '>' "$(of "$two" error)"
stop_backends

start_backend --servers 1@0.5
check "half speed" $load --url "http://127.0.0.1:$port/" --arrivals uniform --rate 20 --duration 1 --work 10:fixed \
    --log "$work/log" --out "$work/l" --quiet
half=$(awk -v c=1 -v speed=0.5 "$reckon" "$work/log")
holds "half speed: twice as long" "$(of "$half" mean)" '==' 20
holds "half speed: nobody early" "$(of "$half" early)" '==' 0
stop_backends

start_backend --servers 2 --sharing
check "sharing" $load --url "http://127.0.0.1:$port/" --rate 400 --duration 1.4 --work 4:exp --seed 3 \
    --log "$work/log" --out "$work/l" --quiet
shared=$(awk -v c=2 -v a=32 "$share" "$work/log")
queued=$(awk -v c=2 -v speed=1 "$reckon" "$work/log")
holds "sharing is not a queue" "$(of "$queued" error)" '>' "$(of "$shared" error)"
stop_backends

start_backend --servers 1 --waiting 2
check "what may wait" $load --url "http://127.0.0.1:$port/" --concurrency 6 --requests 6 --work 150:fixed \
    --out "$work/l"
says "what may wait" "ok 3 + failed 3 (status 3)"
stop_backends

start_backend --base-delay 100 --delay 200 --servers 1
check "a delay holds no slot" $load --url "http://127.0.0.1:$port/" --concurrency 4 --requests 4 --log "$work/log" \
    --out "$work/l" --quiet
if awk -F, 'NR > 1 && $2 < (NR - 1) * 100 + 200 - 0.3 { early++ } NR == 5 && $2 < 1000 { fine = 1 }
            END { exit early || !fine }' "$work/log"; then pass
else fail "a delay holds no slot" "$(cat "$work/log")"; fi
kill "$pid"
wait "$pid"
holds "SIGTERM: exit status" $? '==' 0
backends=''

# ---- what answers say, and faults ------------------------------------------------------------------------------------

start_backend --servers 2x2,1@0.5 --name web --bytes 6
if [ "$(echo "$ports" | sort -u | wc -l)" -eq 3 ]; then pass; else fail "ports" "$ports"; fi
if have python3; then
    output=$(python3 -S -E tests/cli/http_backend.py "$(echo "$ports" | paste -s -d , -)" "$admin" "$work/l" 2>&1)
    counts=$(printf '%s\n' "$output" | sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
    printf '%s\n' "$output" | sed '$d'
    if [ -n "$counts" ]; then
        passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
    else
        fail "http_backend.py" "$output"
    fi
else
    skip "answers and faults" "python3 is not installed"
fi
one_line 1 "address already in use" $backend --port "$(echo "$ports" | tail -n 1)"
stop_backends

# Requests that go on at another pace: 200 ms of work, slow after 100 ms of it, take 100 + 100 * 4; less by three times
# what the script is late on a busy machine, more by what the request is.
printf 't=0.1 kind=slow factor=4 seconds=30\n' >"$work/script"
start_backend --servers 2x1 --script "$work/script" --fault "t=0.05 server=s0 kind=hang,t=0.05 kind=none"
check "a script" $load --url "http://127.0.0.1:$port/" --sequential --requests 1 --work 200:fixed --log "$work/log" \
    --out "$work/l" --quiet
if awk -F, 'NR == 2 && $2 > 440 && $2 < 750 { fine = 1 } END { exit !fine }' "$work/log"; then pass
else fail "a script" "$(cat "$work/log")"; fi
finish
