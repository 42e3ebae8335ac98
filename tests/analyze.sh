#!/bin/sh
# Static analysis of the headers' implementations by whatever of gcc -fanalyzer, cppcheck, clang-tidy and scan-build
# is there; `make analyze` calls it. Ends with status 1 if any of them has something to say.

cd "$(dirname "$0")/.." || exit 1
. tests/check.sh

headers=
for h in rllb.h rllb_nn.h rllb_env.h; do
    [ -f $h ] || continue
    headers="$headers $h"
    printf '#define RLLB_IMPLEMENTATION\n#include "%s"\n' $h >"$work/$(basename $h .h).c"
done

# Left out: what asks for another style (narrowing has its own flags in the tests), or for Annex K.
tidy='-*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-macro-parentheses'
tidy="$tidy,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result"
tidy="$tidy,-bugprone-reserved-identifier,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"

for h in $headers; do
    c=$work/$(basename "$h" .h).c
    if have gcc; then
        check "$h: gcc -fanalyzer" gcc -std=c99 -O1 -fanalyzer -Wall -Wextra -Werror -I. -c "$c" -o "$work/a.o"
    else skip "$h: gcc -fanalyzer" "not installed"
    fi
    if have cppcheck; then
        check "$h: cppcheck" cppcheck --quiet --std=c99 --error-exitcode=1 --enable=warning,portability,performance \
            --inline-suppr --suppress=missingIncludeSystem --suppress='*:/usr/*' -I. "$c"
    else skip "$h: cppcheck" "not installed"
    fi
    if have clang-tidy; then
        check "$h: clang-tidy" clang-tidy --quiet --warnings-as-errors='*' --header-filter='rllb.*' \
            --checks="$tidy" \
            "$c" -- -std=c99 -I.
    else skip "$h: clang-tidy" "not installed"
    fi
    if have scan-build && have clang; then
        check "$h: scan-build" scan-build --status-bugs -o "$work/scan" clang -std=c99 -O1 -I. -c "$c" -o "$work/a.o"
    else skip "$h: scan-build" "not installed"
    fi
done
finish
