#!/bin/sh
# What the headers give to the linker and to the preprocessor: prefixed names only, nothing that changes, no malloc and
# no stdio where it was promised, no clock, no exit, no errno.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

all_nm=$work/nm
forbid() # what, pattern of names; reads $all_nm
{
    found=$(grep -E "$2" "$all_nm" | tr '\n' ' ')
    if [ -z "$found" ]; then pass; else fail "$1" "$found"; fi
}

stdio='IO_.*|std(in|out|err)|f?put[cs]|putchar|fopen|fread|fwrite|open|read|write|.*printf.*|.*scanf'
memory='malloc|calloc|realloc.*|free|aligned_alloc|posix_memalign|memalign|valloc|mmap|sbrk'
for cc in gcc clang; do
    if ! have $cc || ! have nm; then
        skip "symbols, $cc" "$cc or nm is not installed"
        continue
    fi
    echo '#define RLLB_IMPLEMENTATION' >"$work/impl.c"
    for h in rllb.h rllb_nn.h rllb_env.h; do
        if [ -f $h ]; then echo "#include \"$h\""; fi
    done >>"$work/impl.c"
    # Two objects have all the code between them: one with the kernels, one with what allocates.
    for how in "-DRLLB_NO_MALLOC" "-DRLLB_NO_SIMD -DRLLB_NN_NO_SIMD"; do
        what="$cc $how"
        # shellcheck disable=SC2086
        check "$what compiles" $cc -std=c99 -O0 -fno-pie -I. $how -c "$work/impl.c" -o "$work/impl.o" || continue
        nm -g --defined-only "$work/impl.o" | awk '{ print $3 }' >"$all_nm"
        if [ -s "$all_nm" ]; then pass; else fail "$what" "exports nothing"; fi
        grep -v '^_\{0,1\}rllb_' "$all_nm" >"$work/odd"
        if [ -s "$work/odd" ]; then fail "$what: no prefix" "$(tr '\n' ' ' <"$work/odd")"; else pass; fi
        nm "$work/impl.o" | awk '$2 ~ /^[bBdDcC]$/ { print $3 }' >"$all_nm"
        forbid "$what: data that can change" .
        nm -u "$work/impl.o" | awk '{ print $NF }' >"$all_nm"
        forbid "$what: prints or opens files" "^_*($stdio)\$"
        forbid "$what: clock" '^_*(time|clock|clock_gettime|gettimeofday|localtime.*|gmtime.*)$'
        forbid "$what: ends the program, getenv" '^_*(abort|exit|.*assert_fail.*|getenv|signal|raise)$'
        forbid "$what: errno, rand" '^_*(errno_location|s?rand|random|drand48|rand_r)$'
        if [ "$how" = -DRLLB_NO_MALLOC ]; then forbid "$what: memory" "^_*($memory)\$"; fi
    done

    for h in rllb.h rllb_nn.h rllb_env.h; do
        [ -f $h ] || continue
        # Macros of a file that only declares, beyond those of the standard headers.
        for f in stdbool stddef stdint; do echo "#include <$f.h>"; done >"$work/base.c"
        printf '#include "%s"\n' $h >"$work/decl.c"
        $cc -std=c99 -I. -dM -E "$work/base.c" | awk '{ print $2 }' | sort >"$work/base"
        $cc -std=c99 -I. -dM -E "$work/decl.c" | awk '{ print $2 }' | sort >"$work/decl"
        comm -13 "$work/base" "$work/decl" >"$work/new"
        if [ -s "$work/new" ]; then pass; else fail "$h, $cc" "defines no macro"; fi
        grep -v '^RLLB_' "$work/new" >"$all_nm"
        forbid "$h, $cc: macros without prefix" .
    done
done
finish
