#!/bin/sh
# Runs all tests, JOBS at a time, and adds up their last lines. `make test` calls it; a part: make test ONLY=words.
# Those that mostly wait for a clock or a peer run beside them, and first when both want the processor. Each line ends
# in the seconds that passed, and those of the processor.
#
# A job is a program or script whose last line is "N passed, N failed[, N skipped]":
#     test_NAME          a unit test, tests/test_NAME.c, optimised
#     test_NAME.asan     the same under AddressSanitizer and UBSan;  .tsan: under ThreadSanitizer ("thread" in its name)
#     meta/NAME, compile/NAME, cli/NAME     the scripts tests/meta/NAME.sh and so on
#     fuzz_NAME          a fuzz target for FUZZ_SMOKE seconds, from a fixed seed
# One that crashes, runs out of time or prints no such line counts as one failed. Logs stay in build/test/logs.

cd "$(dirname "$0")/.." || exit 1
dir=build/test logs=build/test/logs
JOBS=${JOBS:-2} TIMEOUT=${TEST_TIMEOUT:-280} FUZZ_SMOKE=${FUZZ_SMOKE:-3}

# Seconds with hundredths where the system tells them.
now()
{
    if [ -r /proc/uptime ]; then cut -d ' ' -f 1 /proc/uptime; else date +%s; fi
}

seconds_since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# The sum of what `times` says of a shell and those that it has waited for: 1m2.34s four times.
cpu_of() # file
{
    awk '{ for (i = 1; i <= NF; i++) { split($i, t, /[ms]/); s += 60 * t[1] + t[2] } } END { printf "%.1f", s }' "$1"
}

line() # name, passed, failed, skipped, when it began, file of times
{
    printf '%-28s %5d passed %3d failed %11s %6s s %6s cpu' "$1" "$2" "$3" \
        "$(if [ "$4" -gt 0 ]; then echo "$4 skipped"; fi)" "$(seconds_since "$5")" "$(cpu_of "$6")"
}

run_one()
{
    job=$1 file=$logs/$(echo "$1" | tr / _) start=$(now) limit=
    log=$file.log
    if command -v timeout >/dev/null 2>&1; then limit="timeout -k 5 $TIMEOUT"; fi
    case $job in
    */*) $limit sh "tests/$job.sh" ;;
    *.tsan) $limit $TSAN_RUN "$dir/$job" -v ;;
    fuzz_*) $limit "$dir/$job" --seconds "$FUZZ_SMOKE" ;;
    *) $limit "$dir/$job" -v ;;
    esac >"$log" 2>&1 </dev/null
    status=$?
    times >"$file.times"
    # shellcheck disable=SC2046
    set -- $(tail -n 1 "$log" |
        sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed\(, \([0-9]*\) skipped\)\{0,1\}$/\1 \2 \4/p')
    passed=${1:-0} failed=${2:-0} skipped=${3:-0} words=
    if [ $# -eq 0 ]; then
        words="no count as its last line, exit status $status"
        if [ $status -eq 124 ]; then words="stopped after $TIMEOUT s"; fi
        failed=1
    elif [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1 words="exit status $status"
    fi
    text=$(line "$job" "$passed" "$failed" "$skipped" "$start" "$file.times")
    if [ "$failed" -gt 0 ]; then
        text="$text  <--${words:+ $words}
$(grep -v -E '^[A-Za-z0-9_]+ (ok: .*|\.\.\.)$' "$log" | tail -n 40 | sed 's/^/    /')"
        if [ -n "$words" ]; then text="$text
    last started: $(grep -E ' \.\.\.$' "$log" | tail -n 1); all of it: $log"
        fi
    fi
    printf '%s\n' "$text"
    echo "$passed $failed $skipped" >"$file.count"
}

if [ "$1" = --one ]; then
    run_one "$2"
    exit 0
fi

name_of() { basename "$1" | sed 's/\.[a-z]*$//'; }

jobs_all()
{
    for f in tests/meta/*.sh; do echo "meta/$(name_of "$f")"; done
    for f in tests/test_*.c; do name_of "$f"; done
    for f in tests/compile/*.sh; do echo "compile/$(name_of "$f")"; done
    for f in tests/cli/*.sh; do echo "cli/$(name_of "$f")"; done
    for f in tests/test_*.c; do echo "$(name_of "$f").asan"; done
    for f in tests/test_*thread*.c; do echo "$(name_of "$f").tsan"; done
    for f in tests/fuzz/fuzz_*.c; do name_of "$f"; done
}

wanted()
{
    while read -r job; do
        case $job in test_http* | fuzz_http*) case $without in *HTTP*) continue ;; esac ;; esac
        case $without in *UDP*) case $udp_tests in *" ${job%.*} "*) continue ;; esac ;; esac
        case $job in
        *\**) continue ;; # a pattern that matched no file
        test_nn_cartpole.asan | test_balancer_guard.asan) continue ;; # run for long; others instrument the same code
        test_balancer_quiet.asan) continue ;; # its traps do not work there
        *.asan | fuzz_*) case $without in *ASAN*) continue ;; esac ;;
        *.tsan) case $without in *TSAN*) continue ;; esac ;;
        esac
        if [ -z "$ONLY" ]; then echo "$job"; fi
        for word in $ONLY; do
            case $job in *"$word"*) echo "$job"; break ;; esac
        done
    done
}

# What takes longest starts first, so that no processor waits for another at the end.
longest='compile/matrix compile/aarch64 meta/texts test_balancer_processes.asan test_balancer_model.asan test_study.asan
    meta/symbols cli/train cli/tune test_balancer_guard test_balancer_policies.asan test_flows.asan cli/visualize'
longest_first()
{
    awk -v list="$longest" '
        BEGIN { n = split(list, order, /[ \n]+/) }
        { all[NR] = $0; there[$0] = 1 }
        END {
            for (i = 1; i <= n; i++) if (order[i] in there) { print order[i]; delete there[order[i]] }
            for (i = 1; i <= NR; i++) if (all[i] in there) print all[i]
        }'
}

rm -rf "$logs"
mkdir -p "$logs" || exit 1
begin=$(now)

# Not every compiler has the sanitizers, and not every kernel lays memory out as they need it.
sanitizer_works() # flags
{
    printf 'int main(void) { return 0; }\n' >"$logs/try.c"
    ${CC:-cc} "$@" "$logs/try.c" -o "$logs/try" >"$logs/try.out" 2>&1 && $TSAN_RUN "$logs/try" >"$logs/try.out" 2>&1
}

without=''
skip_kind() # what, why
{
    echo "$1: skipped: $2" >"$logs/$1.log"
    echo "0 0 1" >"$logs/$1.count"
}
TSAN_RUN=
if ! sanitizer_works -fsanitize=address,undefined; then
    without="$without NO_ASAN=1"
    skip_kind asan "${CC:-cc} has no working AddressSanitizer here"
fi
if ! sanitizer_works -fsanitize=thread; then
    TSAN_RUN="setarch $(uname -m) -R" # older ThreadSanitizers do not bear wide address randomisation
    if ! sanitizer_works -fsanitize=thread; then
        without="$without NO_TSAN=1"
        skip_kind tsan "${CC:-cc} has no working ThreadSanitizer here"
    fi
fi
printf '#include <uv.h>\n#include <http_parser.h>\nint main(void) { return !http_parser_version(); }\n' >"$logs/try.c"
if ! ${CC:-cc} "$logs/try.c" -o "$logs/try" -luv -lhttp_parser >"$logs/try.out" 2>&1; then
    without="$without NO_HTTP=1"
    skip_kind http "libuv and http-parser are not installed here (libuv1-dev, libhttp-parser-dev)"
fi
printf '#include <cjson/cJSON.h>\n#include <curl/curl.h>\nint main(void) { return curl_version() == %s; }\n' \
    'cJSON_Version()' >"$logs/try.c"
if ! ${CC:-cc} "$logs/try.c" -o "$logs/try" -lcurl -lcjson >"$logs/try.out" 2>&1; then
    without="$without NO_UDP=1"
    udp_tests=" $(grep -l -E '^#include ".*examples/udp/.*[.]c' tests/*.c tests/fuzz/*.c |
        sed 's|.*/||; s|[.]c$||' | tr '\n' ' ')"
    skip_kind udp "libcurl and cJSON are not installed here (libcurl4-openssl-dev, libcjson-dev)"
fi
rm -f "$logs"/try*

jobs=$(jobs_all | wanted | longest_first)
if [ -z "$jobs" ]; then
    echo "make test: no job's name contains: $ONLY" >&2
    exit 2
fi
targets=test-programs
if [ -n "$ONLY" ]; then
    targets=$(echo "$jobs" | sed -n "s|^\([^/]*\)\$|$dir/\1|p")
    case $jobs in *cli/*) targets="$targets all" ;; esac
fi
echo "building the tests (log: $logs/build.log)"
# shellcheck disable=SC2086
if ${MAKE:-make} -k -j "$JOBS" $without STRICT=-Werror ${targets:-all} >"$logs/build.log" 2>&1 &&
    ! grep -q 'warning:' "$logs/build.log"; then
    times >"$logs/build.times"
    echo "$(line build 1 0 0 "$begin" "$logs/build.times")"
    echo "1 0 0" >"$logs/build.count"
else
    times >"$logs/build.times"
    echo "$(line build 0 1 0 "$begin" "$logs/build.times")  <--"
    grep -E 'error:|warning:|undefined reference|No rule|is not in|\*\*\*' "$logs/build.log" | head -n 40 |
        sed 's/^/    /'
    echo "0 1 0" >"$logs/build.count"
fi

export JOBS FUZZ_SMOKE TSAN_RUN
waiting='^(cli/(http_|haproxy|nginx|integration|embedding|udp_[^t]|udp_traffic)|test_http_proxy)'
echo "$jobs" | grep -E "$waiting" | xargs -P $((2 * JOBS)) -I '{}' sh tests/run.sh --one '{}' &
echo "$jobs" | grep -v -E "$waiting" | xargs -P "$JOBS" -I '{}' nice -n 5 sh tests/run.sh --one '{}'
wait

if grep -h ': skipped: ' "$logs"/*.log >/dev/null 2>&1; then
    echo
    echo "skipped:"
    grep -h ': skipped: ' "$logs"/*.log | sort | uniq -c | sed 's/^ *1 //; s/^ *\([0-9]\)/\1 times /; s/^/    /'
fi
times >"$logs/all.times"
echo "all tests: $(seconds_since "$begin") s, $(cpu_of "$logs/all.times") s of processors"
cat "$logs"/*.count | awk '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        if (skipped) printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        else printf "%d passed, %d failed\n", passed, failed
        exit failed > 0
    }'
