#!/bin/sh
# Unit tests as 64-bit ARM programs under qemu's user mode: other kernels, another libm, char without sign. What the
# processor makes no difference to is left to the machine itself.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

cc=aarch64-linux-gnu-gcc
if ! have $cc || ! have qemu-aarch64; then
    skip aarch64 "aarch64-linux-gnu-gcc and qemu-aarch64 are not both installed"
    finish
fi
warn="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Wundef
      -Wdouble-promotion -Werror"
for f in tests/test_rllb.c tests/test_env.c tests/test_nn_kernels.c tests/test_nn_golden.c; do
    name=$(basename "$f" .c)
    # shellcheck disable=SC2086
    check "$f compiles for aarch64" $cc -static -std=c99 -D_POSIX_C_SOURCE=200809L -O1 $warn -I. -Itests \
        -Iexamples/common "$f" -o "$work/$name" -lm -pthread || continue
    check "$f runs on aarch64" qemu-aarch64 "$work/$name" && echo "$name on aarch64: $(echo "$output" | tail -n 1)"
done
finish
