#!/bin/sh
# The agent: what it writes of files of /proc, what it makes of answers, what happens while the database is away; then
# with a real InfluxDB 1.x over HTTP and UDP, with users, and with collectd beside it; v2 writes with VictoriaMetrics.
# Of v2's own refusals there is no real server here: a double answers as its documentation says. No Nomad and no
# Telegraf either: job files are read by a checker of ours, telegraf.conf by nobody.

# shellcheck disable=SC2317
cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/udp.inc

agent=build/udp/agent
unset INFLUX_TOKEN
PATH=$PATH:/usr/sbin
running=''
stop_all()
{
    for p in $running; do kill "$p" 2>/dev/null; done
    for p in $running; do wait "$p" 2>/dev/null; done
    running=''
}
holder=''
trap 'stop_all; if [ -n "$holder" ]; then kill "$holder"; fi; rm -rf "$work"' EXIT

if [ ! -x $agent ]; then
    skip "udp_agent" "$agent is not built (libcurl4-openssl-dev)"
    finish
fi

check "--help" $agent --help
for word in --to --token --org --bucket --buffer --interval --host --interface --percpu --proc --status 'influx1:http' \
    'influx2:http' 'udp:HOST:PORT' '[10000]' '[/proc]'; do says "--help" "$word"; done
one_line 2 "--to: is missing" $agent
one_line 2 "--to: 'mqtt:x' begins with none of influx1:, influx2:, udp:" $agent --to mqtt:x
one_line 2 "has no database" $agent --to influx1:http://127.0.0.1:1
one_line 2 "--bucket: is missing" $agent --to influx2:http://127.0.0.1:1 --org o
one_line 2 "--org: is for influx2 only" $agent --to udp:127.0.0.1:1 --org o
one_line 2 "give user:password with --token @FILE" $agent --to influx1:http://u:p@127.0.0.1:1/db
one_line 2 "--token: must be @FILE" $agent --to influx2:http://127.0.0.1:1 --org o --bucket b --token secret
one_line 2 "--token: cannot read $work/none" $agent --to influx1:http://127.0.0.1:1/db --token "@$work/none"
one_line 2 "--interval: 0.01 is out of range, must be 0.1 to 60" $agent --to stdout --interval 0.01
one_line 2 "--buffer: 0 is out of range" $agent --to stdout --buffer 0
one_line 2 "--host: has more than 64 bytes" $agent --to stdout --host "$(printf '%065d' 0)"
for word in secret u:p; do
    case $output in *"$word"*) fail "secrets" "$word in: $output" ;; *) pass ;; esac
done

# ---- files of /proc --------------------------------------------------------------------------------------------------

mkdir -p "$work/proc/net" "$work/sys/class/net/eth0" "$work/sys/class/net/down0" "$work/sys/class/net/loop9"
echo 0x1003 >"$work/sys/class/net/eth0/flags"
echo 0x1002 >"$work/sys/class/net/down0/flags"
echo 0x9 >"$work/sys/class/net/loop9/flags"
cat >"$work/proc/meminfo" <<EOF
MemTotal:       1000 kB
MemFree:         300 kB
MemAvailable:    600 kB
Buffers:          40 kB
Cached:          200 kB
SReclaimable:     60 kB
EOF
cat >"$work/proc/net/dev" <<EOF
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 7 7 0 0 0 0 0 0 7 7 0 0 0 0 0 0
 loop9: 7 7 0 0 0 0 0 0 7 7 0 0 0 0 0 0
 down0: 7 7 0 0 0 0 0 0 7 7 0 0 0 0 0 0
  eth0: 5000000000 200 1 2 0 0 0 0 6000000000 300 3 4 0 0 0 0
   a,b: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0
EOF
first_stat='cpu  1000 0 500 8000 0 0 0 0 0 0'
second_stat='cpu  1020 0 510 8060 8 0 2 0 0 0' # 20, 10, 60, 8 and 2 of 100
set_stat()
{
    printf '%s\ncpu0 1 1 1 1\nintr 5\n' "$1" >"$work/stat.new"
    mv "$work/stat.new" "$work/proc/stat"
}
set_stat "$first_stat"
fake="--proc $work/proc --sys $work/sys --host client=1,x"

# shellcheck disable=SC2086
check "to stdout" $agent --to stdout $fake --interval 0.1 --for 0.25
says "mem" 'mem,host=client\=1\,x total=1024000i,available=614400i,free=307200i,buffered=40960i,cached=266240i,'
says "mem, shares" 'used=409600i,used_percent=40,available_percent=60 1'
says "net" 'net,host=client\=1\,x,interface=eth0 bytes_sent=6000000000i,bytes_recv=5000000000i,packets_sent=300i,'
says "net, a name with a comma" ',interface=a\,b bytes_sent=3i,'
for word in interface=lo interface=loop9 interface=down0 'cpu,'; do
    case $output in *"$word"*) fail "to stdout" "$word has no place in: $output" ;; *) pass ;; esac
done
# shellcheck disable=SC2086
check "interfaces by pattern" $agent --to stdout $fake --interface 'l*,down?' --interval 10 --for 0.1
case $output in *interface=lo*interface=loop9*interface=down0*) pass ;; *) fail "patterns" "$output" ;; esac
case $output in *interface=eth0*) fail "patterns" "eth0 too: $output" ;; *) pass ;; esac

lines_of() { [ "$(grep -c "^$1" "$work/lines" 2>/dev/null)" -ge "$2" ] 2>/dev/null; } # how a line begins, how many
if [ -r /proc/net/dev ]; then
    $agent --to stdout --host 'this host' --percpu --interface '*' --interval 0.1 >"$work/lines" 2>"$work/err" &
    pid=$!
    running=$pid
    await lines_of 'cpu,cpu=cpu-total' 2
    stop_all
    check "this host" python3 -S -E tests/cli/udp_agent.py check-lines "$work/lines"
    says "this host" cpu
    says "this host" net
else
    skip "this host" "no /proc as Linux has it"
fi
rm "$work/proc/meminfo"
# shellcheck disable=SC2086
$agent --to stdout $fake --interval 0.1 >"$work/lines" 2>"$work/err" &
running=$!
await lines_of 'net,.*=eth0' 3
stop_all
if [ "$(grep -c meminfo "$work/err")" -eq 1 ] && grep -q '^net,' "$work/lines"; then pass
else fail "a file is missing" "$(cat "$work/err")"; fi
printf 'MemTotal:       1000 kB\nMemFree:         300 kB\nMemAvailable:    600 kB\n' >"$work/proc/meminfo"

# ---- a double --------------------------------------------------------------------------------------------------------

if ! have python3; then
    skip "udp_agent" "python3 is not installed"
    finish
fi
tool() { python3 -S -E tests/cli/udp_agent.py "$@"; }

# Starts a tool that prints a port first; sets port and pid.
start_tool() # output file, words
{
    tool_out=$1
    shift
    rm -f "$tool_out"
    python3 -S -E tests/cli/udp_agent.py "$@" >"$tool_out" 2>"$work/tool.err" &
    pid=$!
    running="$running $pid"
    await test -s "$tool_out"
    port=$(head -n 1 "$tool_out")
}

# Starts the agent, and waits until it has looked at its host once; sets pid. It gives the database all the time that
# a slow machine may take.
start_agent()
{
    rm -f "$work/agent.out" "$work/status"
    # shellcheck disable=SC2086
    $agent $fake --interval 0.1 --timeout 60 --status "$work/status" --for 280 "$@" >"$work/agent.out" \
        2>"$work/agent.err" &
    pid=$!
    running="$running $pid"
    await sampled 1
}

stop_agent() # its status in $ended
{
    kill "$pid" 2>/dev/null
    wait "$pid"
    ended=$?
}
counted() { sed -n "s/^rllb_agent_$1 //p" "$work/status" 2>/dev/null; }
tell_counts() # those of now
{
    rm -f "$work/status"
    kill -USR1 "$pid"
    await test -s "$work/status"
}
counts() # name, relation, number: now
{
    tell_counts
    test "$(counted "$1")" "$2" "$3" 2>/dev/null
}
sampled() { [ "$(counted samples_total)" -ge "$1" ] 2>/dev/null; }
written_more() { counts lines_written_total -gt "$1"; }
refused_more() { counts lines_refused_total -gt "$1"; }
said() { in_file "$1" "$work/agent.err"; } # pattern
set_mode() # words: all at once for who reads it
{
    printf '%s\n' "$@" >"$work/mode.new"
    mv "$work/mode.new" "$work/mode"
}
# What has been made by now is written after a while.
catches_up() # name
{
    tell_counts
    soon "$1" written_more $(($(counted lines_total) - 1))
}
# At its end each line is written, refused, dropped, or waits: these when the last try had no answer in its two seconds.
all_counted() # name
{
    holds "$1: every line is accounted for" $(($(counted lines_written_total) + $(counted lines_refused_total) +
        $(counted lines_dropped_total) + $(counted lines_waiting))) '==' "$(counted lines_total)"
}
# What was written is there, and no more than what may have been written by a try without an answer.
all_there() # name, lines that are there
{
    all_counted "$1"
    holds "$1: no line is lost" "$2" '>=' "$(counted lines_written_total)"
    holds "$1: no line is there twice" "$2" '<=' $(($(counted lines_written_total) + $(counted lines_waiting)))
    holds "$1: nothing is dropped" "$(counted lines_dropped_total)" '==' 0
}

# They are ours until the end, and who connects before there is a server is refused.
python3 -S -E tests/cli/ports.py 7 >"$work/ports" &
holder=$!
await test -s "$work/ports"
# shellcheck disable=SC2046
set -- $(cat "$work/ports")
nobody=$1 later=$2 http=$3 backup=$4 udp=$5 collectd_port=$6 victoria=$7

set_mode 204
start_tool "$work/double.out" double "$work/log" "$work/mode"
printf 'tok-123456\n' >"$work/token"
chmod 600 "$work/token"
v2="--to influx2:http://127.0.0.1:$port --org my&org --bucket b/1"

# shellcheck disable=SC2086
start_agent $v2 --token "@$work/token"
soon "v2 is written" written_more 8
if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q tok-; then fail "the process list" "shows the token"
else pass; fi
set_mode 401 '{"code":"unauthorized","message":"{auth} is not authorized"}'
soon "what was refused is counted" refused_more 2
none_waits() { tell_counts && [ "$(counted lines_waiting)" -lt "$(counted lines_refused_total)" ]; }
soon "and does not wait" none_waits
set_mode 302
soon "a redirection is refused" said 'HTTP 302'
set_mode 204
soon "it goes well again" said 'takes lines again'
stop_agent
holds "SIGTERM is a good end" $ended '==' 0
grep -v '^agent: [0-9]* samples' "$work/agent.err" >"$work/said"
holds "refusals are said once, and their end" "$(wc -l <"$work/said")" '==' 3
if grep -q 'HTTP 401: {"code":"unauthorized","message":"Token \*\*\*\*\*\*\*\*\*\* is not' "$work/said"; then pass
else fail "the server's words" "$(cat "$work/said")"; fi
if grep -q tok- "$work/agent.err" "$work/agent.out" "$work/status"; then fail "the token" "is printed"; else pass; fi
all_there "refusals" "$(wc -l <"$work/log.lines")"
check "the body is line protocol" tool check-lines "$work/log.lines"
posted=$(cut -d '|' -f 1,2 "$work/log" | sort -u)
if [ "$posted" = "/api/v2/write?org=my%26org&bucket=b%2F1&precision=ns|Token tok-123456" ]; then pass
else fail "path and token" "$posted"; fi

# An answer that never comes does not hold up the end: the time-out is a minute.
set_mode 0
INFLUX_TOKEN=other
export INFLUX_TOKEN
# shellcheck disable=SC2086
start_agent $v2
unset INFLUX_TOKEN
soon "INFLUX_TOKEN" in_file 'Token other|.*|0$' "$work/log"
begin=$(date +%s)
stop_agent
holds "a database that hangs: a good end" $ended '==' 0
holds "and in time" $(($(date +%s) - begin)) '<' 30
holds "lines were left" "$(counted lines_waiting)" '>' 2

# Half an answer and 503: tried again, nothing lost, nothing twice, in order.
rm -f "$work/log.lines"
set_mode 503 busy
# shellcheck disable=SC2086
start_agent $v2 --token "@$work/token" --batch 7
soon "a server that is busy" counts failures_total -ge 1
set_mode 1
failures=$(counted failures_total)
soon "half an answer" counts failures_total -gt "$failures"
set_mode 204
catches_up "it catches up"
stop_agent
all_there "failures" "$(wc -l <"$work/log.lines")"
holds "nothing is refused" "$(counted lines_refused_total)" '==' 0
grep '^mem' "$work/log.lines" | sed 's/.* //' >"$work/stamps"
check "in order, each once" sort -n -u -c "$work/stamps"

# Nobody there, and a small buffer: the newest lines stay.
stop_all
start_agent --to "influx2:http://127.0.0.1:$nobody" --org o --bucket b --buffer 10
buffer_is_full()
{
    tell_counts
    [ "$(counted lines_waiting)" -eq 10 ] && [ "$(counted lines_dropped_total)" -gt 10 ]
}
soon "the buffer is bounded" buffer_is_full
stop_agent
holds "nobody there: a good end" $ended '==' 0
all_counted "nobody there"
holds "what made room is counted" "$(counted lines_dropped_total)" '>' 10
holds "it was said once" "$(grep -c 'trying again' "$work/agent.err")" '==' 1

# Datagrams: whole lines, at most 1400 bytes.
lines_came() { [ "$(sort -u "$1.lines" | wc -l)" -ge "$2" ]; } # file, how many
start_tool "$work/sink.out" sink "$work/first"
start_agent --to "udp:127.0.0.1:$port" --interface 'nothing' --percpu
soon "datagrams are sent" written_more 4
stop_agent
all_counted "datagrams"
soon "every line came" lines_came "$work/first" "$(counted lines_written_total)"
check "datagrams hold whole lines" tool check-lines "$work/first.lines"
holds "datagrams came" "$(wc -l <"$work/first.sizes")" '>' 0
holds "they are small" "$(sort -n "$work/first.sizes" | tail -n 1)" '<=' 1400

# Nobody listens to datagrams, then somebody does.
start_agent --to "udp:127.0.0.1:$later"
agent_pid=$pid
soon "what nobody heard waits" counts lines_waiting -ge 9
holds "and is not written" "$(counted lines_written_total)" '==' 0
start_tool "$work/sink.out" sink "$work/second" "$later"
pid=$agent_pid
catches_up "datagrams catch up"
stop_agent
all_counted "datagrams, later"
soon "no line is lost" lines_came "$work/second" "$(counted lines_written_total)"
holds "several are in a datagram" "$(wc -l <"$work/second.sizes")" '<' "$(wc -l <"$work/second.lines")"
holds "datagrams are full" "$(sort -n "$work/second.sizes" | tail -n 1)" '>' 700
holds "and not too large" "$(sort -n "$work/second.sizes" | tail -n 1)" '<=' 1400
holds "it was said once, and when it was over" "$(grep -c 127.0.0.1 "$work/agent.err")" '==' 2
stop_all

# ---- InfluxDB 1.x ----------------------------------------------------------------------------------------------------

influx() { tool influx "http://127.0.0.1:$http" "$@"; }

# The example's settings, here.
configure_influxd()
{
    sed -e "s|/var/lib/influxdb|$work/influxdb|" -e "s|127.0.0.1:8088|127.0.0.1:$backup|" \
        -e "s|192.168.56.4:8086|127.0.0.1:$http|" -e "s|192.168.56.4:8089|127.0.0.1:$udp|" \
        -e "s|192.168.56.4:25826|127.0.0.1:$collectd_port|" examples/udp/influxdb.conf >"$work/influxdb.conf"
    if [ ! -r /usr/share/collectd/types.db ]; then # nobody will send to it
        sed -i '/^\[\[collectd\]\]/,/^ *enabled/s/enabled = true/enabled = false/' "$work/influxdb.conf"
    fi
}
answers() { tool get "http://127.0.0.1:$1" >/dev/null 2>&1; } # port/path
start_influxd() # name=value of the environment
{
    env "$@" influxd run -config "$work/influxdb.conf" >"$work/influxd.out" 2>&1 &
    influxd=$!
    running="$running $influxd"
    if await answers "$http/ping"; then pass
    else fail "influxd" "does not start: $(tail -n 5 "$work/influxd.out")"; fi
}
stop_influxd()
{
    kill "$influxd" 2>/dev/null
    wait "$influxd" 2>/dev/null
}
has_points() { [ -n "$(influx "$1" "$2")" ]; }
rows_say() # name, words: of the last rows
{
    case $rows in *"$2"*) pass ;; *) fail "$1" "no '$2' in: $rows" ;; esac
}

# The schema of Telegraf, as the database understood it.
check_schema()
{
    rows=$(influx telegraf 'SHOW TAG KEYS; SHOW FIELD KEYS')
    for m in cpu,cpu cpu,host mem,host net,host net,interface; do
        rows_say "$1: tags" "${m%,*}||tagKey=\"${m#*,}\""
    done
    for f in user system idle nice iowait irq softirq steal guest guest_nice; do
        rows_say "$1: cpu" "cpu||fieldKey=\"usage_$f\"|fieldType=\"float\""
    done
    for f in total available used free cached buffered swap_total huge_pages_total; do
        rows_say "$1: mem" "mem||fieldKey=\"$f\"|fieldType=\"integer\""
    done
    for f in used_percent available_percent; do
        rows_say "$1: mem" "mem||fieldKey=\"$f\"|fieldType=\"float\""
    done
    for f in bytes_sent bytes_recv packets_sent packets_recv err_in err_out drop_in drop_out; do
        rows_say "$1: net" "net||fieldKey=\"$f\"|fieldType=\"integer\""
    done
}
check_values() # name, tag host
{
    rows=$(influx telegraf "SELECT usage_user, usage_system, usage_idle, usage_iowait, usage_softirq FROM cpu WHERE \
host = '$2' AND cpu = 'cpu-total'; SELECT total, used_percent FROM mem WHERE host = '$2' LIMIT 1; \
SELECT bytes_sent, drop_out FROM net WHERE host = '$2' AND interface = 'eth0' LIMIT 1; \
SELECT bytes_sent, err_in FROM net WHERE host = '$2' AND interface = 'a,b' LIMIT 1")
    rows_say "$1: cpu" 'usage_user=20|usage_system=10|usage_idle=60|usage_iowait=8|usage_softirq=2'
    rows_say "$1: mem" 'total=1024000|used_percent=40'
    rows_say "$1: net" 'bytes_sent=6000000000|drop_out=4'
    rows_say "$1: a name with a comma" 'bytes_sent=3|err_in=0'
    holds "$1: one cpu point" "$(echo "$rows" | grep -c usage_user)" '==' 1
}

if ! have influxd; then
    skip "InfluxDB 1.x" "influxd is not installed (influxdb)"
else
    configure_influxd
    start_influxd A=b
    set_stat "$first_stat"
    start_agent --to "influx1:http://127.0.0.1:$http/telegraf"
    set_stat "$second_stat"
    soon "cpu is there" has_points telegraf 'SELECT usage_idle FROM cpu'
    check_schema HTTP
    check_values HTTP 'client=1,x'

    # Away for a while, and back: every sample is there once.
    stop_influxd
    soon "lines wait while it is away" counts lines_waiting -gt 9
    start_influxd A=b
    catches_up "it catches up"
    stop_agent
    all_counted "away and back"
    there=$(influx telegraf 'SELECT count(total) FROM mem' | sed 's/.*|count=//')
    holds "away and back: every sample is there" "$there" '>=' $(($(counted samples_total) - $(counted lines_waiting)))
    holds "away and back: and no more" "$there" '<=' "$(counted samples_total)"
    holds "away and back: nothing is dropped" $(($(counted lines_dropped_total) + $(counted lines_refused_total))) \
        '==' 0

    # A database that is not there: its words, once.
    start_agent --to "influx1:http://127.0.0.1:$http/nosuch" --create=no
    soon "refused" counts refusals_total -gt 1
    stop_agent
    if [ "$(grep -c 'HTTP 404: .*database not found' "$work/agent.err")" -eq 1 ]; then pass
    else fail "no such database" "$(cat "$work/agent.err")"; fi

    # A database that somebody drops is made again, and no name says more than a name.
    start_agent --to "influx1:http://127.0.0.1:$http/a\"; DROP DATABASE telegraf; b"
    soon "a name of a database" written_more 2
    influx _internal 'DROP DATABASE "a\"; DROP DATABASE telegraf; b"' >/dev/null
    database_there() { influx _internal 'SHOW DATABASES' | grep -q 'DROP DATABASE telegraf; b'; }
    soon "made again" database_there
    stop_agent
    rows=$(influx _internal 'SHOW DATABASES')
    rows_say "nothing is dropped by a name" 'name="telegraf"'
    rows_say "nothing is dropped by a name" 'name="a\"; DROP DATABASE telegraf; b"'

    # As datagrams.
    influx telegraf 'DROP SERIES FROM cpu, mem, net' >/dev/null
    set_stat "$first_stat"
    start_agent --to "udp:127.0.0.1:$udp" --host 'by udp'
    set_stat "$second_stat"
    soon "cpu by datagrams" has_points telegraf 'SELECT usage_idle FROM cpu'
    stop_agent
    check_schema UDP
    check_values UDP 'by udp'

    # Users and passwords.
    influx telegraf "CREATE USER root WITH PASSWORD 'pass word' WITH ALL PRIVILEGES" >/dev/null
    stop_influxd
    start_influxd INFLUXDB_HTTP_AUTH_ENABLED=true
    printf 'root:pass word' >"$work/user"
    chmod 600 "$work/user"
    start_agent --to "influx1:http://127.0.0.1:$http/telegraf" --token "@$work/user" --host with-user
    soon "with a user" written_more 2
    stop_agent
    holds "with a user: none refused" "$(counted lines_refused_total)" '==' 0
    start_agent --to "influx1:http://127.0.0.1:$http/telegraf" --host without
    soon "without: refused" refused_more 1
    stop_agent
    if grep -q 'HTTP 401: .*unable to parse authentication credentials' "$work/agent.err"; then pass
    else fail "without a user" "$(cat "$work/agent.err")"; fi
    stop_influxd

    # What collectd tells, next to ours.
    if ! have collectd || [ ! -r /usr/share/collectd/types.db ]; then
        skip "collectd" "collectd is not installed (collectd-core)"
    else
        start_influxd A=b
        cat >"$work/collectd.conf" <<EOF
Hostname "by-collectd"
FQDNLookup false
BaseDir "$work"
PIDFile "$work/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
Interval 0.5
LoadPlugin cpu
LoadPlugin memory
LoadPlugin interface
LoadPlugin network
<Plugin cpu>
    ReportByCpu false
    ValuesPercentage true
</Plugin>
<Plugin memory>
    ValuesPercentage true
</Plugin>
<Plugin network>
    Server "127.0.0.1" "$collectd_port"
</Plugin>
EOF
        collectd -f -C "$work/collectd.conf" >"$work/collectd.out" 2>&1 &
        running="$running $!"
        for m in "cpu_value WHERE type = 'percent' AND type_instance = 'idle'" \
            "memory_value WHERE type = 'percent' AND type_instance = 'used'" \
            "interface_rx WHERE type = 'if_octets'" "interface_tx WHERE type = 'if_octets'"; do
            soon "collectd: $m" has_points collectd "SELECT value FROM $m AND host = 'by-collectd' LIMIT 1"
        done
        stop_influxd
    fi
fi

# ---- VictoriaMetrics -------------------------------------------------------------------------------------------------

vm_has()
{
    tool get "http://127.0.0.1:$victoria/internal/force_flush" >/dev/null
    exported=$(tool get "http://127.0.0.1:$victoria/api/v1/export?match%5B%5D=%7B__name__%3D~%22$1%22%7D")
    [ -n "$exported" ]
}
if ! have victoria-metrics; then
    skip "VictoriaMetrics" "victoria-metrics is not installed"
else
    victoria-metrics -storageDataPath="$work/vm" -httpListenAddr="127.0.0.1:$victoria" -loggerLevel=ERROR \
        -memory.allowedBytes=64MB >"$work/vm.out" 2>&1 &
    running="$running $!"
    await answers "$victoria/health"
    set_stat "$first_stat"
    start_agent --to "influx2:http://127.0.0.1:$victoria" --org o --bucket b --token "@$work/token"
    set_stat "$second_stat"
    soon "VictoriaMetrics has cpu" vm_has cpu_usage_user
    stop_agent
    all_counted "VictoriaMetrics"
    holds "VictoriaMetrics took all" $(($(counted lines_dropped_total) + $(counted lines_refused_total))) '==' 0
    vm_has cpu_usage_user
    case $exported in
    *'"host":"client=1,x"'*'"cpu":"cpu-total"'*'"values":[20]'*) pass ;;
    *) fail "VictoriaMetrics: cpu" "$exported" ;;
    esac
    vm_has net_bytes_sent
    case $exported in *'"interface":"eth0"'*'[6000000000'*) pass ;; *) fail "VictoriaMetrics: net" "$exported" ;; esac
    case $exported in *'"interface":"a,b"'*) pass ;; *) fail "VictoriaMetrics: a name" "$exported" ;; esac
fi
stop_all

# ---- job files -------------------------------------------------------------------------------------------------------

# Not run by a Nomad: none is to be had here. What they tell the programs is tried without it.
rm -f "$work/log"
rm -f "$work/log.lines"
set_mode 204
start_tool "$work/double.out" double "$work/log" "$work/mode"
here="var.influxdb=http://127.0.0.1:$port var.nomad=http://127.0.0.1:$port NOMAD_TASK_DIR=$work \
node.unique.name=node1 NOMAD_PORT_udp=0"
arguments() # job file
{
    # shellcheck disable=SC2086
    tool hcl-args "$1" $here | sed 's/^0\.0\.0\.0:/127.0.0.1:/'
}

$agent --help >"$work/agent.help"
check "agent.nomad.hcl" tool hcl examples/udp/nomad/agent.nomad.hcl "rllb-agent=$work/agent.help"
# shellcheck disable=SC2046
INFLUX_TOKEN=t1 $agent $(arguments examples/udp/nomad/agent.nomad.hcl) >"$work/agent.out" 2>"$work/agent.err" &
pid=$!
running="$running $pid"
soon "the agent as in the job file: writes" test -s "$work/log.lines"
stop_agent
holds "the agent as in the job file: a good end" $ended '==' 0
if [ "$(cut -d '|' -f 1,2 "$work/log" | sort -u)" = \
    "/api/v2/write?org=YourOrgName&bucket=YourBucketName&precision=ns|Token t1" ] &&
    grep -q '^mem,host=node1 ' "$work/log.lines"; then pass
else fail "the agent as in the job file" "$(cat "$work/log")"; fi

if [ -x build/udp/allocator ]; then
    build/udp/allocator --help >"$work/allocator.help"
    check "allocator.nomad.hcl" tool hcl examples/udp/nomad/allocator.nomad.hcl "rllb-allocator=$work/allocator.help"
    # shellcheck disable=SC2046
    INFLUX_TOKEN=t1 build/udp/allocator $(arguments examples/udp/nomad/allocator.nomad.hcl) >"$work/allocator.out" \
        2>"$work/allocator.err" &
    pid=$!
    running="$running $pid"
    listens() { grep -q '^listening on 127.0.0.1:' "$work/allocator.out" 2>/dev/null; }
    soon "the allocator as in the job file" listens
    stop_agent
    holds "the allocator as in the job file: a good end" $ended '==' 0
else
    skip "allocator.nomad.hcl" "build/udp/allocator is not built"
fi
sed 's/^}$//' examples/udp/nomad/agent.nomad.hcl >"$work/open.hcl"
check_status 1 "a brace is missing" tool hcl "$work/open.hcl" "rllb-agent=$work/agent.help"
sed 's/"--buffer"/"--puffer"/' examples/udp/nomad/agent.nomad.hcl >"$work/option.hcl"
check_status 1 "no such option" tool hcl "$work/option.hcl" "rllb-agent=$work/agent.help"
says "no such option" "rllb-agent has no --puffer"

finish
