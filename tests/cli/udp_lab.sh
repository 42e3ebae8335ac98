#!/bin/sh
# The lab of the UDP allocator, short: from processes to files; killed or stopped half-way it leaves no process, no
# namespace, no group, no folder, nor does a part that fails; what an earlier start left is removed by the next one.
# Wrong input is one line.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

lab=build/udp/lab
for program in lab allocator agent traffic; do
    if [ ! -x build/udp/$program ]; then
        skip "udp_lab" "build/udp/$program is not built here"
        finish
    fi
done

check "--help" $lab --help
for word in --policies --repeats --seconds --model --quick --rate --cpus --load --loaded --loopback --bin --database \
    '[out/udp_lab]'; do says "--help" "$word"; done

# ---- wrong input -----------------------------------------------------------------------------------------------------

no="$lab --quiet --out $work/no"
one_line 2 "--policies: no 'least'" $no --policies least
one_line 2 "--policies: 'sed,' is not P,P" $no --policies sed,
one_line 2 "--loaded" $no --loaded 4
one_line 2 "--seconds" $no --seconds 1
one_line 1 "$work/none/allocator: No such file" $no --bin "$work/none"
if [ -e "$work/no" ]; then fail "wrong input" "leaves a folder"; else pass; fi
mkdir "$work/tmp"
TMPDIR=$work/tmp
export TMPDIR
one_line 1 "$work/none: cannot be started" $no --policies sed --database "$work/none"
one_line 1 "$work/none: No such file" $no --model "$work/none"

# ---- what is left ----------------------------------------------------------------------------------------------------

# Processes, namespaces, groups and folders of the lab with this pid; and what `ip` shows of this system's own network.
groups() { ls -d /sys/fs/cgroup/cpu/rllb-udp-* /sys/fs/cgroup/rllb-udp-* 2>/dev/null; }
network()
{
    if have ip; then ip -o link; ip route; ip netns list; fi 2>/dev/null | sed 's/ state .*//; s/ qlen .*//'
}
network_before=$(network)
family()
{
    cat /proc/[0-9]*/stat 2>/dev/null | sed 's/([^)]*)/x/' | awk -v top="$1" '
        $3 != "Z" { parent[$1] = $4 }
        END {
            for (p in parent) {
                for (q = p; q in parent && q != top; q = parent[q]) if (q == parent[q]) break
                if (q == top && p != top) print p
            }
        }'
}
alive() # pids
{
    for one in "$@"; do
        if [ -r "/proc/$one/stat" ] && ! grep -q ') Z ' "/proc/$one/stat" 2>/dev/null; then echo "$one"; fi
    done
}
clean() # name, pids: within twenty seconds
{
    name=$1
    shift
    tries=0
    while { [ -n "$(alive "$@")" ] || [ -n "$(groups)" ] || [ -n "$(ls "$work/tmp")" ]; } && [ $tries -lt 400 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    if [ -z "$(alive "$@")" ]; then pass; else fail "$name" "processes are left: $(alive "$@")"; fi
    if [ -z "$(groups)" ]; then pass; else fail "$name" "groups are left: $(groups)"; fi
    if [ -z "$(ls "$work/tmp")" ]; then pass; else fail "$name" "folders are left: $(ls "$work/tmp")"; fi
    if [ "$(network)" = "$network_before" ]; then pass; else fail "$name" "the network is another: $(network)"; fi
}
clean "wrong input"

if ! have influxd; then
    skip "udp_lab, runs" "influxd (InfluxDB 1.x) is not installed"
    finish
fi

# ---- a run -----------------------------------------------------------------------------------------------------------

# Half a minute of a busy client under two policies; what is learnt of a policy is for the lab itself to say.
check "a run" $lab --quick --policies round_robin,awcmp --seconds 6 --out "$work/a"
for word in round_robin awcmp 'share before' 'P99, ms' 'report.md'; do says "a run" "$word"; done
there "a run" "$work/a/report.md" "$work/a/results.json" "$work/a/metrics.png" "$work/a/shares.png" \
    "$work/a/delays.png"
schema udp_lab "$work/a/results.json"
clean "a run"
number() # policy, key
{
    sed -n "/\"policy\": \"$1\"/,/}/s/.*\"$2\": \([0-9.]*\).*/\1/p" "$work/a/results.json"
}
for policy in round_robin awcmp; do
    # 1,800 are expected: five standard deviations. All of them are accounted for.
    if awk -v sent="$(number $policy sent)" -v answered="$(number $policy answered)" \
        -v lost="$(number $policy lost)" -v doubled="$(number $policy duplicates)" \
        -v damaged="$(number $policy damaged)" \
        'BEGIN { exit !(sent > 1587 && sent < 2013 && answered + lost <= sent && lost < sent / 2 && doubled == 0 &&
                        damaged == 0) }'
    then pass; else fail "$policy" "$(grep '"seed"' "$work/a/results.json")"; fi
done
if [ "$(number round_robin sent)" = "$(number awcmp sent)" ]; then pass
else fail "datagrams" "policies do not meet the same"; fi
# Nobody moves away from a busy client under round robin: a third of what was sent, of 600 a third.
if awk -v share="$(number round_robin share_before)" 'BEGIN { exit !(share > 0.2 && share < 0.47) }'; then pass
else fail "round_robin" "its share was $(number round_robin share_before)"; fi

check "--loopback" $lab --quick --loopback --policies sed --seconds 3 --out "$work/b"
says "--loopback" "on loopback ports"
if grep -q 'One host for all' "$work/b/report.md"; then pass; else fail "--loopback" "the report does not say so"; fi
clean "--loopback"

# A part that ends early: what it said is in the one line, and nothing goes on.
mkdir "$work/bin"
for program in allocator agent traffic; do ln -s "$PWD/build/udp/$program" "$work/bin/$program"; done
rm "$work/bin/allocator"
printf '#!/bin/sh\necho "allocator: it does not want to" >&2\nexit 3\n' >"$work/bin/allocator"
chmod +x "$work/bin/allocator"
one_line 1 "allocator ended with status 3; allocator: it does not want to" $lab --quick --policies sed --seconds 3 \
    --quiet --bin "$work/bin" --out "$work/c"
clean "a part that fails"

# ---- stopped half-way ------------------------------------------------------------------------------------------------

stopped() # signal, status
{
    $lab --quick --policies round_robin --seconds 6 --out "$work/s" >"$work/s.out" 2>&1 &
    pid=$!
    tries=0
    # Database, agents, sinks, allocator, generator, two burners; on namespaces those that hold them, and the keeper.
    while [ "$(family $pid | wc -l)" -lt 13 ] && [ $tries -lt 400 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    all=$(family $pid)
    if [ "$(echo "$all" | wc -l)" -ge 13 ]; then pass
    else fail "stopped by $1" "did not begin: $(cat "$work/s.out")"; fi
    kill -"$1" $pid
    wait $pid 2>/dev/null
    got=$?
    if [ $got -eq "$2" ]; then pass; else fail "stopped by $1" "exit status $got: $(cat "$work/s.out")"; fi
    clean "stopped by $1" $all
}
stopped KILL 137
stopped TERM 143
if grep -q 'stopped after 0 runs; nothing is written' "$work/s.out"; then pass; else fail "stopped" "says not so"; fi
if [ -z "$(ls "$work/s")" ]; then pass; else fail "stopped" "left behind: $(ls "$work/s")"; fi

# The keeper killed as well: the next start cleans up.
$lab --quick --policies round_robin --seconds 6 --out "$work/s" >"$work/s.out" 2>&1 &
pid=$!
tries=0
while [ "$(family $pid | wc -l)" -lt 13 ] && [ $tries -lt 400 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
all=$(family $pid)
kill -KILL $pid $all
wait $pid 2>/dev/null
if [ -n "$(ls "$work/tmp")" ]; then pass; else fail "lab and keeper killed" "no folder is left to be cleaned up"; fi
tries=0 # under a quota it takes time to die
while [ -n "$(alive $all)" ] && [ $tries -lt 400 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
check_status 1 "the next start" $lab --quick --policies sed --database "$work/none" --quiet --out "$work/s"
clean "lab and keeper killed" $all
finish
