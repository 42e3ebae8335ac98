#!/bin/sh
# Unit tests as 64-bit ARM programs under qemu's user mode: other kernels, another libm, char without sign. What the
# processor makes no difference to is left to the machine itself: so are the long tables of the simulated cluster. The
# headers are compiled once, as by the Makefile, and linked with every test.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

arm=aarch64-linux-gnu
if ! have $arm-gcc || ! have qemu-aarch64; then
    skip aarch64 "aarch64-linux-gnu-gcc and qemu-aarch64 are not both installed"
    finish
fi
warn="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Wundef
      -Wdouble-promotion -Werror"
flags="-std=c99 -D_POSIX_C_SOURCE=200809L -O1 $warn -I. -Itests -Iexamples/common"
done='-DRLLB_I_DONE -DRLLB_NN_I_DONE -DRLLB_ENV_I_DONE'

for h in rllb rllb_nn rllb_env; do
    case $h in rllb) own=-DRLLB_I_DONE ;; rllb_nn) own=-DRLLB_NN_I_DONE ;; *) own=-DRLLB_ENV_I_DONE ;; esac
    others=$(echo "$done" | sed "s/$own//")
    printf '#define RLLB_IMPLEMENTATION\n#include "%s.h"\n' $h >"$work/$h.c"
    # shellcheck disable=SC2086
    check "$h.h compiles for aarch64" $arm-gcc $flags $others -c "$work/$h.c" -o "$work/$h.o"
    mkdir -p "$work/inside"
    awk -f tests/inside.awk $h.h >"$work/inside/$h.h"
done
check "blocks from where a test says" $arm-objcopy --redefine-sym malloc=rllb_test_malloc \
    --redefine-sym free=rllb_test_free "$work/rllb.o"

arm() # test, a pattern of tests that are left out
{
    name=$1
    # shellcheck disable=SC2086
    check "$name compiles for aarch64" $arm-gcc -static $flags -iquote "$work/inside" -DRLLB_API=extern \
        "tests/$name.c" "$work/rllb.o" "$work/rllb_nn.o" "$work/rllb_env.o" -o "$work/$name" -lm -pthread || return
    only=
    if [ -n "$2" ]; then only=$(qemu-aarch64 "$work/$name" -l | grep -v "$2"); fi
    # shellcheck disable=SC2086
    check "$name runs on aarch64" qemu-aarch64 "$work/$name" $only && echo "$name: $(echo "$output" | tail -n 1)"
}

arm test_rllb
arm test_balancer_kernels
arm test_env table_of
arm test_nn_kernels the_same_set_gives
arm test_nn_golden
arm test_nn_golden_learners
finish
