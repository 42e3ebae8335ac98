#!/bin/sh
# Fuzzes every target with libFuzzer for FUZZ_SECONDS each; `make fuzz` calls it. What was found to be interesting
# stays in out/fuzz/corpus-NAME and is where the next run goes on; an input that fails is out/fuzz/NAME-crash-...
cd "$(dirname "$0")/../.." || exit 1
seconds=${FUZZ_SECONDS:-60} status=0
common="-std=c99 -D_POSIX_C_SOURCE=200809L -I. -Itests/fuzz -Iexamples/common -isystem ${STB_DIR:-/usr/include/stb}"
san="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"

command -v clang >/dev/null 2>&1 || { echo "make fuzz: clang is not installed: sh setup.sh test" >&2; exit 1; }
mkdir -p build/fuzz
rm -f build/fuzz/*.o build/fuzz/lib.a
for f in examples/common/*.c; do
    [ -f "$f" ] || continue
    # shellcheck disable=SC2086
    clang $common $san -w -c "$f" -o "build/fuzz/$(basename "$f" .c).o" || exit 1
done
set -- build/fuzz/*.o
[ -f "$1" ] || set --
ar rcs build/fuzz/lib.a "$@" || exit 1
for f in tests/fuzz/fuzz_*.c; do
    [ -f "$f" ] || continue
    name=$(basename "$f" .c)
    corpus=out/fuzz/corpus-$name libs=-lm
    if grep -q '^#include ".*examples/http/' "$f"; then libs='-luv -lhttp_parser -lm'; fi
    if grep -q '^#include ".*examples/udp/.*[.]c' "$f"; then libs='-lcurl -lcjson -lm'; fi
    mkdir -p "$corpus"
    # shellcheck disable=SC2086
    ${MAKE:-make} -s "build/test/$name" && "build/test/$name" --write-seeds "$corpus" &&
        clang $common $san -DFUZZ_LIBFUZZER -fsanitize=fuzzer "$f" build/fuzz/lib.a $libs -o "build/fuzz/$name" &&
        "build/fuzz/$name" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
            -artifact_prefix="out/fuzz/$name-" "$corpus" || { echo "$name: FAILED" >&2; status=1; }
done
exit $status
