#!/bin/sh
# The lab of the UDP allocator, short: from processes to files; killed or stopped half-way it leaves no process, no
# namespace, no group, no folder, nor does a part that fails; what an earlier start left is removed by the next one.
# Wrong input is one line.
# shellcheck disable=SC2086 # lists of words

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc
. tests/cli/udp.inc

for program in lab allocator agent traffic; do
    if [ ! -x build/udp/$program ]; then
        skip "udp_lab" "build/udp/$program is not built here"
        finish
    fi
done

# Each start leaves its process id, so that what it leaves can be told from what others do.
cat >"$work/lab" <<'END'
echo $$ >>"$0.pids"
exec build/udp/lab "$@"
END
lab="sh $work/lab"

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

# Processes, groups and folders of our labs; and of this system's own network what is named as theirs is.
groups()
{
    while read -r one; do ls -d /sys/fs/cgroup/rllb-udp-"$one"-* /sys/fs/cgroup/*/rllb-udp-"$one"-*; done \
        <"$work/lab.pids" 2>/dev/null
}
network()
{
    if have ip; then ip -o link; ip route; ip netns list; fi 2>/dev/null |
        grep -E '^[0-9]+: (br0|p[0-9]+|eth0)[:@]|192\.168\.56\.|rllb' | sed 's/ state .*//; s/ qlen .*//'
}
network_before=$(network)
family() # pid: whoever it has begun, and those have, and runs
{
    cat /proc/[0-9]*/stat 2>/dev/null | sed 's/(.*)/x/' | awk -v top="$1" '
        $3 != "Z" { parent[$1] = $4 }
        END {
            for (p in parent) {
                for (q = p; q in parent && q != top; q = parent[q]) if (q == parent[q]) break
                if (q == top && p != top) print p
            }
        }'
}
all_gone() { gone "$@" && [ -z "$(groups)" ] && [ -z "$(ls "$work/tmp")" ]; } # pids
clean() # name, pids
{
    name=$1
    shift
    await all_gone "$@"
    if gone "$@"; then pass; else fail "$name" "processes are left, of $*"; fi
    if [ -z "$(groups)" ]; then pass; else fail "$name" "groups are left: $(groups)"; fi
    if [ -z "$(ls "$work/tmp")" ]; then pass; else fail "$name" "folders are left: $(find "$work/tmp")"; fi
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
    # 1,800 are expected: five standard deviations. How many a busy machine loses is another matter.
    if awk -v sent="$(number $policy sent)" -v answered="$(number $policy answered)" \
        -v lost="$(number $policy lost)" -v doubled="$(number $policy duplicates)" \
        -v damaged="$(number $policy damaged)" \
        'BEGIN { exit !(sent > 1587 && sent < 2013 && answered > 0 && answered + lost <= sent && doubled == 0 &&
                        damaged == 0) }'
    then pass; else fail "$policy" "$(grep '"seed"' "$work/a/results.json")"; fi
done
if [ "$(number round_robin sent)" = "$(number awcmp sent)" ]; then pass
else fail "datagrams" "policies do not meet the same"; fi
# By turns, before one of them is busy: a third of what was sent, of 600 a third.
if awk -v share="$(number round_robin share_before)" 'BEGIN { exit !(share > 0.15 && share < 0.5) }'; then pass
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

# Keeper, database, three agents, three sinks, allocator, generator and two burners; and who holds the namespaces.
whole=12
if grep -q 'One host for all' "$work/a/report.md"; then skip "namespaces" "they cannot be had here"; else whole=18; fi
whole_family() { [ "$(family "$pid" | wc -l)" -ge $whole ] || gone "$pid"; }
begin() # short runs, one after the other: sooner or later all of them are there
{
    $lab --quick --policies round_robin --seconds 3 --repeats 64 --out "$work/s" >"$work/s.out" 2>&1 &
    pid=$!
    await whole_family
    if gone "$pid"; then fail "$1" "did not begin: $(cat "$work/s.out")"; else pass; fi
}
stopped() # signal, status
{
    begin "stopped by $1"
    all=$(family $pid)
    kill -"$1" $pid
    wait $pid 2>/dev/null
    got=$?
    if [ $got -eq "$2" ]; then pass; else fail "stopped by $1" "exit status $got: $(cat "$work/s.out")"; fi
    clean "stopped by $1" $all
}
stopped KILL 137
stopped TERM 143
if in_file 'stopped after [0-9]* runs; nothing is written' "$work/s.out"; then pass
else fail "stopped" "says not so"; fi
if [ -z "$(ls "$work/s")" ]; then pass; else fail "stopped" "left behind: $(ls "$work/s")"; fi

# The keeper killed as well: the next start cleans up. The lab is halted first, so that all it has begun is known, and
# the keeper, who leads a session, is killed before it: or it would have begun to clean up.
begin "lab and keeper killed"
kill -STOP $pid
halted() { grep -q ') T ' "/proc/$pid/stat"; }
await halted
all=$(family $pid)
keeper=$(for one in $all; do sed 's/(.*)/x/' "/proc/$one/stat"; done 2>/dev/null | awk '$6 == $1 { print $1 }')
if [ "$(echo "$keeper" | wc -w)" -eq 1 ]; then pass; else fail "lab and keeper killed" "keepers: $keeper"; fi
kill -KILL $keeper
await gone $keeper
kill -KILL $pid $all
wait $pid 2>/dev/null
if [ -n "$(ls "$work/tmp")" ]; then pass; else fail "lab and keeper killed" "no folder is left to be cleaned up"; fi
soon "all of them are dead" gone $all # who is not may still write, and holds the folder of the results
one_line 1 "$work/none: cannot be started" $lab --quick --policies sed --database "$work/none" --quiet --out "$work/s"
clean "lab and keeper killed" $all
finish
