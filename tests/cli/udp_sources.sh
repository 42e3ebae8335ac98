#!/bin/sh
# Metrics from real peers: an InfluxDB 1 that this script starts, fed with points in Telegraf's schema and by a real
# collectd, and a real node_exporter. Flux has no peer on Debian: test_udp_metrics replays its documented format.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
PATH=$PATH:/usr/sbin

cat >"$work/probe.c" <<'END'
#include <curl/curl.h>
#include <cjson/cJSON.h>
int main(void) { return !curl_version() + !cJSON_Version(); }
END
if ! ${CC:-cc} "$work/probe.c" -o "$work/probe" -lcurl -lcjson 2>"$work/probe.err" || [ ! -f build/common/lib.a ]; then
    skip udp_sources "libcurl or cJSON is not installed (libcurl4-openssl-dev, libcjson-dev)"
    finish
fi
u=examples/udp watch=$work/watch
check "build" ${CC:-cc} -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -I. -Iexamples/common -I$u tests/cli/udp_watch.c \
    $u/metrics.c $u/source.c $u/influx.c $u/prometheus.c $u/table.c $u/web.c build/common/lib.a -lcurl -lcjson -lm \
    -pthread -o "$watch" || finish

pids=''
stop() # pid: at once; what it holds is ours to throw away
{
    kill -9 "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}
stop_all() { for p in $pids; do stop "$p"; done; }
trap 'stop_all; rm -rf "$work"' EXIT

soon() # name, seconds, pattern, file: a line of it is there in time
{
    tries=0
    while [ $tries -lt $((20 * $2)) ]; do
        if grep -q -e "$3" "$4" 2>/dev/null; then pass; return 0; fi
        sleep 0.05
        tries=$((tries + 1))
    done
    fail "$1" "no '$3' in: $(tail -n 4 "$4")"
    return 1
}
last() { grep "^$1 " "$2" | tail -n 1; }    # name, file
has() # name, pattern, text
{
    if printf '%s\n' "$3" | grep -q -e "$2"; then pass; else fail "$1" "no '$2' in: $3"; fi
}

# ---- a table, without any peer ---------------------------------------------------------------------------------------

printf 'time_s,host,cpu,memory,bytes_in,bytes_out\n,a,40,25,0,0\n' >"$work/table"
"$watch" watch "file:$work/table" a 30 >"$work/out" 2>"$work/err" &
pid=$!
pids="$pids $pid"
soon "table" 3 '^a known 0 cpu 0.4000 memory 0.2500 network nan' "$work/out"
sleep 0.6
printf 'time_s,host,cpu,memory,bytes_in,bytes_out\n,a,50,25,125e5,0\n' >"$work/table"
soon "table, written anew" 3 '^a known 1 cpu 0.5000' "$work/out"
stop $pid

# ---- InfluxDB --------------------------------------------------------------------------------------------------------

# shellcheck disable=SC2046
set -- $("$watch" ports 4)
rpc=$1 port=$2 collectd_port=$3 node_port=$4 url=http://127.0.0.1:$port
configure() # true or false: with users
{
    cat <<CONF
reporting-disabled = true
bind-address = "127.0.0.1:$rpc"
[meta]
  dir = "$work/influx/meta"
[data]
  dir = "$work/influx/data"
  wal-dir = "$work/influx/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:$port"
  auth-enabled = $1
  log-enabled = false
[[collectd]]
  enabled = true
  bind-address = "127.0.0.1:$collectd_port"
  database = "collectd"
  batch-size = 10
  batch-timeout = "100ms"
  typesdb = "/usr/share/collectd/types.db"
[logging]
  level = "warn"
CONF
}
start_influx() # true or false
{
    configure "$1" >"$work/influx.conf"
    influxd run -config "$work/influx.conf" >"$work/influx.log" 2>&1 &
    influx=$!
    pids="$pids $influx"
    tries=0
    while [ $tries -lt 100 ] && [ "$("$watch" get "$url/ping" | cut -c 1-3)" != 204 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    if [ $tries -lt 100 ]; then pass; else fail "influxd" "$(tail -n 3 "$work/influx.log")"; fi
}
ask() { printf '' | "$watch" post "$url/query?q=$1"; }
# Points of a second: host a with all that Telegraf has, b without usage_idle, one whose name wants to be a query.
points() # time, bytes
{
    cat <<POINTS
cpu,cpu=cpu-total,host=a usage_idle=60,usage_user=3,usage_system=1 $1000000000
cpu,cpu=cpu0,host=a usage_idle=1,usage_user=98,usage_system=1 $1000000000
mem,host=a used_percent=25,available_percent=70 $1000000000
net,host=a,interface=eth0 bytes_recv=$2i,bytes_sent=0i,packets_recv=7i $1000000000
net,host=a,interface=eth1 bytes_recv=1000i,bytes_sent=2000i $1000000000
net,host=a,interface=lo bytes_recv=$2$2i,bytes_sent=$2$2i $1000000000
net,host=a,interface=all icmp_inmsgs=5i $1000000000
cpu,cpu=cpu-total,host=b usage_user=50.5,usage_system=20 $1000000000
mem,host=b used_percent=80.5 $1000000000
net,host=b,interface=eth0 bytes_recv=0i,bytes_sent=$2i $1000000000
cpu,cpu=cpu-total,host=e"v'\\ OR\\ 1; usage_idle=10 $1000000000
mem,host=e"v'\\ OR\\ 1; used_percent=10 $1000000000
POINTS
}
write() # time, bytes
{
    output=$(points "$1" "$2" | "$watch" post "$url/write?db=telegraf&precision=ns")
    has "write" '^204' "$output"
}

if ! have influxd; then
    skip influxdb "influxd is not installed (influxdb)"
else
    start_influx false
    "$watch" watch "influx1:$url" a 1 >"$work/out" 2>"$work/err"
    has "no such database" 'failing .*: not executed: is there such a database' "$(tail -n 1 "$work/out")"
    if [ "$(wc -l <"$work/err")" -eq 1 ]; then pass; else fail "said once" "$(cat "$work/err")"; fi
    has "create" '^200' "$(ask 'CREATE%20DATABASE%20telegraf')"
    UDP_STALE=4 "$watch" watch "influx1:$url/" "a,b=10.0.0.2,e\"v' OR 1;" 60 >"$work/out" 2>"$work/err" &
    pid=$!
    pids="$pids $pid"
    soon "nothing there" 2 'failing .*the database has no metrics of the last 60 s' "$work/out"
    now=$(date +%s)
    write $((now - 1)) 0
    soon "one sample makes no rate" 2 '^a known 0 cpu 0.4000 memory 0.2500 network nan' "$work/out"
    write "$now" 12500000
    soon "a" 2 '^a known 1 cpu 0.4000 memory 0.2500 network 0.100000' "$work/out"
    soon "b, without usage_idle" 2 '^b known 1 cpu 0.7050 memory 0.8050 network 0.100000' "$work/out"
    soon "a host whose name is none of ours to obey" 2 "^e\"v' OR 1; known 0 cpu 0.9000 memory 0.1000" "$work/out"
    soon "the same points again grow old" 6 '^a known 0 cpu 0.4000 memory 0.2500 network 0.100000 age 4' "$work/out"
    stop "$influx"
    soon "the database is down" 4 '^failing ' "$work/out"
    start_influx false
    now=$(date +%s)
    write "$now" 25000000
    soon "it is back" 4 "^a known 1 cpu 0.4000 memory 0.2500 network 0.0" "$work/out"
    write $((now + 3600)) 25000001 # a clock an hour ahead
    soon "a clock ahead" 3 "metrics of a carry times 3[56][0-9][0-9] s ahead" "$work/err"
    stop $pid
    if grep -v -e 'carry times' -e '127.0.0.1' "$work/err"; then
        fail "stderr" "$(cat "$work/err")"
    else pass; fi

    # Who may ask.
    has "a user" '^200' "$(ask 'CREATE%20USER%20me%20WITH%20PASSWORD%20%27sesame%27%20WITH%20ALL%20PRIVILEGES')"
    stop "$influx"
    start_influx true
    echo me:sesame >"$work/token"
    UDP_TOKEN=@$work/token "$watch" watch "influx1:$url" a 1 >"$work/out" 2>"$work/err"
    has "a token of a file" '^a known . cpu 0.4000' "$(last a "$work/out")"
    if [ -s "$work/err" ] && grep -v 'carry times' "$work/err"; then fail "token" "$(cat "$work/err")"; else pass; fi
    UDP_TOKEN=me:Sesam "$watch" watch "influx1:$url" a 1 >"$work/out" 2>"$work/err"
    has "a wrong one" 'failing .*: HTTP 401: authorization failed' "$(tail -n 1 "$work/out")"
    "$watch" watch "influx1:$url" a 1 >>"$work/out" 2>>"$work/err"
    has "none" 'failing .*: HTTP 401: unable to parse authentication credentials' "$(tail -n 1 "$work/out")"
    if grep -i -e sesam -e bWU6 "$work/out" "$work/err"; then fail "token" "is shown"; else pass; fi
    stop "$influx"

    # Fed by collectd.
    if ! have collectd; then
        skip collectd "collectd is not installed (collectd-core)"
    else
        start_influx false
        cat >"$work/collectd.conf" <<CONF
Hostname "c"
FQDNLookup false
Interval 0.5
BaseDir "$work"
PIDFile "$work/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin cpu
LoadPlugin memory
LoadPlugin interface
LoadPlugin network
<Plugin cpu>
  ReportByCpu false
  ValuesPercentage true
</Plugin>
<Plugin memory>
  ValuesAbsolute false
  ValuesPercentage true
</Plugin>
<Plugin network>
  Server "127.0.0.1" "$collectd_port"
</Plugin>
CONF
        collectd -f -C "$work/collectd.conf" >"$work/collectd.log" 2>&1 &
        collectd=$!
        pids="$pids $collectd"
        UDP_DATABASE=collectd "$watch" watch "collectd:$url" c 30 >"$work/out" 2>"$work/err" &
        pid=$!
        pids="$pids $pid"
        soon "collectd" 8 '^c known 1 cpu [01][.][0-9]* memory [01][.][0-9]* network [0-9.]* age' "$work/out"
        stop $pid
        used=$(awk '/^MemTotal/ { t = $2 } /^(MemFree|Buffers|Cached|SReclaimable|Slab):/ { f += $2 }
                    /^SReclaimable:/ { f -= $2 } END { print 1 - f / t }' /proc/meminfo)
        if last c "$work/out" | awk -v u="$used" '{ d = $7 - u; exit !(d < 0.1 && d > -0.1) }'; then pass
        else fail "collectd: memory" "$used: $(last c "$work/out")"; fi
        stop $collectd
        stop "$influx"
    fi
fi

# ---- node_exporter ---------------------------------------------------------------------------------------------------

if ! have prometheus-node-exporter; then
    skip node_exporter "prometheus-node-exporter is not installed"
    finish
fi
prometheus-node-exporter --web.listen-address="127.0.0.1:$node_port" >"$work/node.log" 2>&1 &
node=$!
pids="$pids $node"
tries=0
while [ $tries -lt 100 ] && [ "$("$watch" get "http://127.0.0.1:$node_port/" | cut -c 1-3)" != 200 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
busy() { awk '/^cpu / { for (i = 2; i <= 9; i++) t += $i; print $5, t }' /proc/stat; }
exporter=http://127.0.0.1:$node_port/metrics
few='collect[]=cpu&collect[]=meminfo&collect[]=netdev&collect[]=time'
before=$(busy)
sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done' &
"$watch" watch "prometheus:all=$exporter,few=$exporter?$few" all,few 3 >"$work/out" 2>"$work/err"
after=$(busy)
for client in all few; do
    if grep "^$client known 1" "$work/out" | awk -v b="$before" -v a="$after" '
        { s += $5; n++ }
        END {
            split(b, x, " "); split(a, y, " ")
            share = 1 - (y[1] - x[1]) / (y[2] - x[2])
            printf "processors in use: %.3f by /proc/stat, %.3f by %d polls\n", share, s / n, n
            exit !(n >= 4 && s / n > 0 && s / n - share < 0.2 && share - s / n < 0.2)
        }' >"$work/cpu"; then pass; else fail "node_exporter: cpu of $client" "$(cat "$work/cpu" "$work/err")"; fi
    used=$(awk '/^MemTotal/ { t = $2 } /^MemAvailable/ { print 1 - $2 / t }' /proc/meminfo)
    if last $client "$work/out" | awk -v u="$used" '{ d = $7 - u; exit !(d < 0.05 && d > -0.05) }'; then pass
    else fail "node_exporter: memory of $client" "$used: $(last $client "$work/out")"; fi
    if last $client "$work/out" | awk '{ exit !($9 >= 0 && $9 < 100 && $11 < 1) }'; then pass
    else fail "node_exporter: network and age of $client" "$(last $client "$work/out")"; fi
done
if [ -s "$work/err" ]; then fail "stderr" "$(cat "$work/err")"; else pass; fi
"$watch" watch "prometheus:http://{}:$node_port/metrics" n=127.0.0.1 1 >"$work/out" 2>"$work/err"
has "an address for all clients" '^n known 1' "$(last n "$work/out")"
stop $node
finish
