#!/bin/sh
# Unit tests as 64-bit ARM programs under qemu's user mode: other kernels, another libm, char without sign. What the
# processor makes no difference to is left to the machine itself: so are the long tables of the simulated cluster.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

cc=aarch64-linux-gnu-gcc
if ! have $cc || ! have qemu-aarch64; then
    skip aarch64 "aarch64-linux-gnu-gcc and qemu-aarch64 are not both installed"
    finish
fi
warn="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Wundef
      -Wdouble-promotion -Werror"

arm() # test, its optimisation, a pattern of tests that are left out
{
    name=$1
    # shellcheck disable=SC2086
    check "$name compiles for aarch64" $cc -static -std=c99 -D_POSIX_C_SOURCE=200809L $2 $warn -I. -Itests \
        -Iexamples/common "tests/$name.c" -o "$work/$name" -lm -pthread || return
    only=
    if [ -n "$3" ]; then only=$(qemu-aarch64 "$work/$name" -l | grep -v "$3"); fi
    # shellcheck disable=SC2086
    check "$name runs on aarch64" qemu-aarch64 "$work/$name" $only && echo "$name: $(echo "$output" | tail -n 1)"
}

arm test_rllb '-O1'
arm test_balancer_kernels -O1
arm test_env '-O1 -DRLLB_NO_SIMD' table_of
arm test_nn_kernels '-O1 -DRLLB_NO_SIMD' the_same_set_gives
arm test_nn_golden '-O0 -DRLLB_NO_SIMD'
arm test_nn_golden_learners '-O0 -DRLLB_NO_SIMD'
finish
