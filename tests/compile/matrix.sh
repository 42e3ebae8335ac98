#!/bin/sh
# Every header: alone, twice, without malloc, in two units, by every compiler and language there is; in every order and
# static in two units, as C and as C++; without a warning. Then every other C file of the tree by gcc and clang. Each
# compilation counts once.
# Prints only what fails. A part: sh tests/compile/matrix.sh clang (lines of the plan that contain the word).
#
# The kernels are most of the work. They are parsed in every language and standard, translated by every compiler once,
# and left out (RLLB_NO_SIMD, RLLB_NN_NO_SIMD) where only the rest is asked about.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

warn="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual"
warn="$warn -Wundef -Wdouble-promotion -Werror"
headers=
for h in rllb.h rllb_nn.h rllb_env.h; do
    if [ -f $h ]; then headers="$headers $h"; else skip "$h" "not there"; fi
done

# A job is a line: its number, what it checks, a shell command, between tabs.
plan=$work/plan jobs=0
: >"$plan"
job()
{
    jobs=$((jobs + 1))
    printf '%s\t%s\t%s\n' $jobs "$1" "$2" >>"$plan"
}

# Sources. main() is there so that linking works; it calls into the header to prove that something was emitted.
includes() { for i in "$@"; do printf '#include "%s"\n' "$i"; done; }
body='int main(void) { return rllb_version() == RLLB_VERSION ? 0 : 1; }'

for h in $headers; do
    n=$(basename "$h" .h)
    { includes "$h"; echo 'int rllb_declared(void);'; } >"$work/$n.declared.c"
    { echo '#define RLLB_IMPLEMENTATION'; includes "$h"; echo "$body"; } >"$work/$n.alone.c"
    { echo '#define RLLB_IMPLEMENTATION'; includes "$h" "$h"; echo "$body"; } >"$work/$n.twice.c"
    { includes "$h"; echo '#define RLLB_IMPLEMENTATION'; includes "$h" "$h"; echo "$body"; } >"$work/$n.after.c"
done
# shellcheck disable=SC2086
{ includes $headers; echo "$body"; } >"$work/unit_main.c"
# shellcheck disable=SC2086
{ echo '#define RLLB_IMPLEMENTATION'; includes $headers; } >"$work/unit_impl.c"
# shellcheck disable=SC2086
{ echo '#define RLLB_STATIC'; includes $headers; echo 'int other(void);'
  echo 'int main(void) { return rllb_version() == other() ? 0 : 1; }'; } >"$work/static_main.c"
# shellcheck disable=SC2086
{ echo '#define RLLB_STATIC'; includes $headers; echo 'int other(void);'
  echo 'int other(void) { return rllb_version(); }'; } >"$work/static_other.c"
orders=0
for a in $headers; do
    for b in $headers; do
        for c in $headers; do
            if [ "$a" = "$b" ] || [ "$b" = "$c" ] || [ "$a" = "$c" ]; then continue; fi
            orders=$((orders + 1))
            { echo '#define RLLB_IMPLEMENTATION'; includes "$a" "$b" "$c"; echo "$body"; } >"$work/order_$orders.c"
            { includes "$a" "$b" "$c"; echo '#define RLLB_IMPLEMENTATION'; includes "$a" "$b" "$c"; echo "$body"; } \
                >"$work/order_after_$orders.c"
        done
    done
done

# What compiles the unit tests translates each header there with all kernels, optimised, and warnings are errors; here
# the other one does: the template of the kernels is the same for all of them, so one set is optimised.
case ${CC:-cc} in *clang*) optimised=gcc builds_tests=clang ;; *) optimised=clang builds_tests=gcc ;; esac
lean='-DRLLB_NO_SIMD -DRLLB_NN_NO_SIMD'

compiler() # name of the compiler, its command, standards
{
    name=$1 command=$2
    shift 2
    if ! have "$name"; then
        skip "$name" "not installed"
        return
    fi
    base="$command -I. $warn"
    first=$1
    for std in "$@"; do
        for h in $headers; do
            n=$(basename "$h" .h)
            job "$h declarations, $name $std" "$base -std=$std -fsyntax-only $work/$n.declared.c"
            if [ "$std" = "$first" ] && [ "$name" != $builds_tests ]; then
                job "$h implementation, $name $std" "$base -std=$std -fsyntax-only $work/$n.alone.c"
            fi
        done
        if [ "$std" != "$first" ]; then
            job "all implementations, $name $std" "$base -std=$std -fsyntax-only $work/unit_impl.c"
        fi
    done
    for h in $headers; do
        n=$(basename "$h" .h)
        job "$h declared, then implemented twice, $name" "$base -std=$first -fsyntax-only $lean $work/$n.after.c"
        job "$h static, twice, $name" "$base -std=$first -fsyntax-only -DRLLB_STATIC $lean $work/$n.twice.c"
        job "$h without malloc, $name" "$base -std=$first -fsyntax-only -DRLLB_NO_MALLOC $lean $work/$n.alone.c"
    done
    if [ "$name" = $optimised ]; then
        job "all implementations optimised, $name" "$base -std=$first -O2 $lean -c $work/unit_impl.c -o $work/$name.o"
    fi
    if [ "$name" = $builds_tests ]; then kernels=$lean; else kernels=''; fi
    job "two units linked and run, $name" \
        "$base -std=$first $kernels $work/unit_main.c $work/unit_impl.c -o $work/$name.units -lm && $work/$name.units"
    case $name in gcc) form=order ;; clang++) form=order_after ;; *) return ;; esac
    job "static in two units linked and run, $name" "$base -std=$first -O1 $lean $work/static_main.c \
$work/static_other.c -o $work/$name.static -lm && $work/$name.static"
    i=1
    while [ $i -le $orders ]; do
        job "$form $i, $name" "$base -std=$first -fsyntax-only $lean $work/${form}_$i.c"
        i=$((i + 1))
    done
}

compiler gcc gcc c99 c11 gnu17
compiler clang clang c99 c11 gnu17
compiler g++ "g++ -x c++" c++11 c++20
compiler clang++ "clang++ -x c++" c++11 c++20

# Programs and tests: C99 with POSIX, by the compiler that did not build them (tests/run.sh looks for warnings of the
# one that did); benchmarks, which `make test` does not build, by both. The headers' implementation is the business of
# what is above, so that only a file that looks inside has it here.
linked='-DRLLB_I_DONE -DRLLB_NN_I_DONE -DRLLB_ENV_I_DONE'
stb=${STB_DIR:-/usr/include/stb}
has() { printf '#include <%s>\n#include <%s>\n' "$@" | ${CC:-cc} -E - >/dev/null 2>&1; }
http=yes udp=yes
has uv.h http_parser.h || { http=''; skip "examples/http" "libuv and http-parser are not installed"; }
has curl/curl.h cjson/cJSON.h || { udp=''; skip "examples/udp" "libcurl and cJSON are not installed"; }
for name in gcc clang; do
    have $name || continue
    for f in examples/*.c examples/*/*.c bench/*.c tests/*.c tests/fuzz/*.c; do
        case $name:$f in *\** | */stb* | */nginx/* | $builds_tests:tests/* | $builds_tests:examples/*) continue ;; esac
        case $http:$f in :*http*) continue ;; esac
        if [ -z "$udp" ] && grep -q -E '^#include (<c(url|json)/|".*examples/udp/.*[.]c)' "$f"; then continue; fi
        if grep -q -E 'RLLB_(NN_)?(I_X86|NO_SIMD)' "$f"; then kernels=''; else kernels=$lean; fi
        if ! grep -q '^#define RLLB_STATIC' "$f"; then kernels=$linked; fi
        job "$f, $name" "$name -std=c99 -D_POSIX_C_SOURCE=200809L -I. -Iexamples/common -Itests -Itests/fuzz \
-Ibuild/http -isystem $stb $warn $kernels -fsyntax-only $f"
    done
done
# The ground floor's tests are C++ too.
if have g++; then
    job "tests/test_rllb.c as C++11, g++" \
        "g++ -x c++ -std=c++11 -O1 -I. -Itests $warn $lean tests/test_rllb.c -o $work/cpp_rllb -lm && $work/cpp_rllb"
fi

# Runs the plan, JOBS at a time; each leaves a file when it fails.
cat >"$work/run_job.sh" <<'JOB'
tab=$(printf '\t')
out=$2/out.${1%%"$tab"*} line=${1#*"$tab"}
what=${line%%"$tab"*} command=${line#*"$tab"}
if (eval "$command") >"$out" 2>&1 </dev/null; then
    echo ok >"$out.ok"
else
    { echo "FAILED $what"; echo "    $command"; head -n 12 "$out" | sed 's/^/    /'; } >"$out.failed"
fi
JOB
if [ -n "$1" ]; then grep -F -- "$1" "$plan" >"$plan.part"; mv "$plan.part" "$plan"; fi
tr '\n' '\0' <"$plan" | xargs -0 -P "${JOBS:-2}" -I '{}' sh "$work/run_job.sh" '{}' "$work"
passed=$(find "$work" -name 'out.*.ok' | wc -l)
failed=$(find "$work" -name 'out.*.failed' | wc -l)
planned=$(wc -l <"$plan")
passed=$((passed)) failed=$((failed))
cat "$work"/out.*.failed 2>/dev/null
if [ $((passed + failed)) -ne $((planned)) ]; then fail "plan" "$planned jobs, $((passed + failed)) results"; fi
finish
