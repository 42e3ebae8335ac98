#!/bin/sh
# Metrics from real peers: an InfluxDB 1 that this script starts, fed with points in Telegraf's schema and by a real
# collectd, and a real node_exporter. Flux has no peer on Debian: test_udp_metrics replays its documented format.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/udp.inc
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

last() { grep "^$1 " "$2" | tail -n 1; }    # name, file
has() # name, pattern, text
{
    if printf '%s\n' "$3" | grep -q -e "$2"; then pass; else fail "$1" "no '$2' in: $3"; fi
}

# Watches in the background, some minutes at most: what it tells goes to $work/out and $work/err. Sets pid.
watching() # source, clients
{
    "$watch" watch "$1" "$2" 280 >"$work/out" 2>"$work/err" &
    pid=$!
    pids="$pids $pid" seen=0
}
look_again() { seen=$(wc -l <"$work/out"); } # from here on
told() { tail -n +$((seen + 1)) "$work/out" | grep -q -e "$1"; } # pattern
tells() # name, pattern: in a line behind what was there when we looked last
{
    if await told "$2"; then pass
    else fail "$1" "no '$2' in: $(tail -n 4 "$work/out") $(cat "$work/err")"; fi
}
# A machine that stands still for long lets a poll run out of time, and says so.
complaints() { grep -v -i -e 'timed out' -e timeout -e 'is well again' "$work/err"; }
quiet() # name, patterns of what may be said
{
    quiet_name=$1
    shift
    for words in "$@"; do set -- "$@" -e "$words"; shift; done
    left=$(complaints | grep -v "$@" -e '^$')
    if [ -z "$left" ]; then pass; else fail "$quiet_name" "$left"; fi
}

# ---- a table, without any peer ---------------------------------------------------------------------------------------

table() # row: all at once
{
    printf 'time_s,host,cpu,memory,bytes_in,bytes_out\n%s\n' "$1" >"$work/table.new"
    mv "$work/table.new" "$work/table"
}
table ',a,40,25,0,0'
UDP_STALE=60 watching "file:$work/table" a
tells "table" '^a known 0 cpu 0.4000 memory 0.2500 network nan'
sleep 0.1 # so far apart, at least, are two that make a rate
table ',a,50,25,125e5,0'
tells "table, written anew" '^a known 1 cpu 0.5000'
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
    if await answers "$url/ping" 204; then pass; else fail "influxd" "$(tail -n 3 "$work/influx.log")"; fi
}
answers() { [ "$("$watch" get "$1" 2>"$work/get.err" | head -n 1 | cut -c 1-3)" = "$2" ]; } # address, status
ask() { printf '' | "$watch" post "$url/query?q=$1"; }
# Points of a second: host a with all that Telegraf has, b without usage_idle, one whose name wants to be a query.
points() # time, bytes
{
    cat <<POINTS
cpu,cpu=cpu-total,host=a usage_idle=60,usage_user=3,usage_system=1 ${1}000000000
cpu,cpu=cpu0,host=a usage_idle=1,usage_user=98,usage_system=1 ${1}000000000
mem,host=a used_percent=25,available_percent=70 ${1}000000000
net,host=a,interface=eth0 bytes_recv=$2i,bytes_sent=0i,packets_recv=7i ${1}000000000
net,host=a,interface=eth1 bytes_recv=1000i,bytes_sent=2000i ${1}000000000
net,host=a,interface=lo bytes_recv=$2$2i,bytes_sent=$2$2i ${1}000000000
net,host=a,interface=all icmp_inmsgs=5i ${1}000000000
cpu,cpu=cpu-total,host=b usage_user=50.5,usage_system=20 ${1}000000000
mem,host=b used_percent=80.5 ${1}000000000
net,host=b,interface=eth0 bytes_recv=0i,bytes_sent=$2i ${1}000000000
cpu,cpu=cpu-total,host=e"v'\\ OR\\ 1; usage_idle=10 ${1}000000000
mem,host=e"v'\\ OR\\ 1; used_percent=10 ${1}000000000
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
    watching "influx1:$url" a
    tells "no such database" 'failing [3-9].*: not executed: is there such a database'
    stop $pid
    if [ "$(wc -l <"$work/err")" -eq 1 ]; then pass; else fail "said once" "$(cat "$work/err")"; fi
    has "create" '^200' "$(ask 'CREATE%20DATABASE%20telegraf')"
    UDP_STALE=3 watching "influx1:$url/" "a,b=10.0.0.2,e\"v' OR 1;"
    tells "nothing there" 'failing .*the database has no metrics of the last 60 s'
    # Points of now, again and again, each with as many bytes as a tenth of the capacity makes by then.
    began=$(date +%s)
    told_of_now() # pattern
    {
        now=$(date +%s)
        if [ "$now" -gt "$written" ]; then
            points "$now" $((12500000 * (now - began))) | "$watch" post "$url/write?db=telegraf&precision=ns" \
                >"$work/post.out"
            written=$now
        fi
        told "$1"
    }
    tells_of_now() # name, pattern
    {
        if await told_of_now "$2"; then pass; else fail "$1" "no '$2' in: $(tail -n 4 "$work/out")"; fi
    }
    write "$began" 0
    written=$began
    tells "one sample makes no rate" '^a known 0 cpu 0.4000 memory 0.2500 network nan'
    tells_of_now "a" '^a known 1 cpu 0.4000 memory 0.2500 network 0.100000'
    tells_of_now "b, without usage_idle" '^b known 1 cpu 0.7050 memory 0.8050 network 0.100000'
    tells "a host whose name is none of ours to obey" "^e\"v' OR 1; known 0 cpu 0.9000 memory 0.1000"
    look_again
    tells "the same points again grow old" '^a known 0 cpu 0.4000 memory 0.2500 network 0.100000 age'
    # Whatever was told: known is what is no older than three seconds.
    if awk '$1 == "a" && $9 != "nan" { n++; if ($3 != ($11 < 3.005) && $3 != ($11 < 2.995)) exit 1 }
            END { if (n < 2) exit 1 }' "$work/out"; then pass; else fail "old or not" "$(grep '^a ' "$work/out")"; fi
    stop "$influx"
    look_again
    tells "the database is down" '^failing '
    start_influx false
    look_again
    tells_of_now "it is back" "^a known 1 cpu 0.4000 memory 0.2500 network 0.100000"
    write $(($(date +%s) + 3600)) 25000001 # a clock an hour ahead
    soon "a clock ahead" in_file "metrics of a carry times 3[56][0-9][0-9] s ahead" "$work/err"
    stop $pid
    quiet "stderr" 'carry times' '127.0.0.1'

    # Who may ask.
    has "a user" '^200' "$(ask 'CREATE%20USER%20me%20WITH%20PASSWORD%20%27sesame%27%20WITH%20ALL%20PRIVILEGES')"
    stop "$influx"
    start_influx true
    echo me:sesame >"$work/token"
    UDP_TOKEN=@$work/token watching "influx1:$url" a
    tells "a token of a file" '^a known . cpu 0.4000'
    stop $pid
    quiet "token" 'carry times'
    for token in me:Sesam ''; do
        case $token in
        '') words='unable to parse authentication credentials' ;;
        *) words='authorization failed' ;;
        esac
        UDP_TOKEN=$token watching "influx1:$url" a
        tells "a wrong token, or none" "failing .*: HTTP 401: $words"
        stop $pid
        if grep -i -e sesam -e bWU6 "$work/out" "$work/err"; then fail "token" "is shown"; else pass; fi
    done
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
        UDP_STALE=60 UDP_DATABASE=collectd watching "collectd:$url" c
        tells "collectd" '^c known 1 cpu [01][.][0-9]* memory [01][.][0-9]* network [0-9.]* age'
        # Two who look at two moments; the moment comes when they see the same.
        memory_as_it_is()
        {
            used=$(awk '/^MemTotal/ { t = $2 } /^(MemFree|Buffers|Cached|SReclaimable|Slab):/ { f += $2 }
                        /^SReclaimable:/ { f -= $2 } END { print 1 - f / t }' /proc/meminfo)
            last c "$work/out" | awk -v u="$used" '{ d = $7 - u; exit !(d < 0.1 && d > -0.1) }'
        }
        soon "collectd: memory" memory_as_it_is
        stop $pid
        stop $collectd
        stop "$influx"
    fi
fi

# ---- node_exporter ---------------------------------------------------------------------------------------------------

if ! have prometheus-node-exporter; then
    skip node_exporter "prometheus-node-exporter is not installed"
    finish
fi
# Of a host that is made up, so that it is known what is to come of it.
proc=$work/proc exporter=http://127.0.0.1:$node_port/metrics
mkdir -p "$proc/net" "$proc/self" "$proc/1/net"
node_stat() # idle, user, in hundredths of a second
{
    printf 'cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 %d 0 0 %d 0 0 0 0 0 0\n' "$2" "$1" "$2" "$1" >"$work/stat.new"
    printf 'intr 1\nctxt 1\nbtime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n' >>"$work/stat.new"
    echo 'softirq 0 0 0 0 0 0 0 0 0 0 0' >>"$work/stat.new"
    mv "$work/stat.new" "$proc/stat"
}
node_stat 1000 1000
printf 'MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 600 kB\nBuffers: 0 kB\nCached: 0 kB\n' >"$proc/meminfo"
printf 'Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n' \
    >"$proc/net/dev"
printf '  eth0: 5000 1 0 0 0 0 0 0 7000 1 0 0 0 0 0 0\n' >>"$proc/net/dev"
cp "$proc/net/dev" "$proc/1/net/dev"
cp "$proc/net/dev" "$proc/self/dev"
prometheus-node-exporter --web.listen-address="127.0.0.1:$node_port" --path.procfs="$proc" >"$work/node.log" 2>&1 &
node=$!
pids="$pids $node"
soon "node_exporter" answers "http://127.0.0.1:$node_port/" 200
few='collect[]=cpu&collect[]=meminfo&collect[]=time'
UDP_STALE=60 watching "prometheus:all=$exporter,few=$exporter?$few" all,few
tells "node_exporter: nothing is known of one answer" '^few known 0 cpu nan memory 0.4000 network nan'
for client in all few; do tells "node_exporter: memory of $client" "^$client known . cpu nan memory 0.4000"; done
node_stat 1100 1300 # 300 of 400
for client in all few; do
    tells "node_exporter: cpu of $client" "^$client known . cpu 0.7500 memory 0.4000"
done
stop $pid
quiet "stderr" '^$'
stop $node

# Of this one.
prometheus-node-exporter --web.listen-address="127.0.0.1:$node_port" >"$work/node.log" 2>&1 &
node=$!
pids="$pids $node"
soon "node_exporter, of this host" answers "http://127.0.0.1:$node_port/" 200
UDP_STALE=60 watching "prometheus:http://{}:$node_port/metrics" n=127.0.0.1
tells "an address for all clients" '^n known 1 cpu [01][.][0-9]* memory 0[.][0-9]* network [0-9.]* age 0[.]'
memory_as_it_is()
{
    used=$(awk '/^MemTotal/ { t = $2 } /^MemAvailable/ { print 1 - $2 / t }' /proc/meminfo)
    last n "$work/out" | awk -v u="$used" '{ d = $7 - u; exit !(d < 0.05 && d > -0.05) }'
}
soon "node_exporter: memory" memory_as_it_is
stop $pid
quiet "stderr, of this host" '^$'
stop $node
finish
