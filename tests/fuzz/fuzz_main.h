/* fuzz_main.h - drives a fuzz target where there is no libFuzzer; include it last

       int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);    what libFuzzer calls: must return 0

       static size_t seeds(int i, uint8_t *buffer, size_t room)         the i-th well-formed input, its length;
       {                                                                0: there are no more
           ...
       }
       #define FUZZ_SEEDS seeds                                         without: one empty input
       #include "fuzz_main.h"

   Built with -DFUZZ_LIBFUZZER and -fsanitize=fuzzer this file adds only a way to write the seeds down. Otherwise it
   holds a main() that feeds the seeds, then mutations of them (bits, bytes, little-endian and decimal numbers at
   their extremes, cuts, repeats, splices of two seeds) in exactly sized heap blocks, so that AddressSanitizer sees
   every step outside. The sequence depends on --seed only; how far it gets depends on --seconds.

       fuzz_x [--seconds N] [--seed N] [--write-seeds DIR] [FILE ...]   files are more seeds, or one to look into

   An input that crashes, or takes longer than ten seconds, is written to out/fuzz/NAME.crash before the end. */

#ifndef FUZZ_MAIN_H
#define FUZZ_MAIN_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef FUZZ_LIBFUZZER

#if defined(__SANITIZE_ADDRESS__)
#define FUZZ_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FUZZ_ASAN 1
#endif
#endif
#ifdef FUZZ_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { FUZZ_ROOM = 1 << 16, FUZZ_SEEDS_MAX = 256, FUZZ_SLOW_S = 10 };

typedef struct fuzz_input {
    uint8_t *data;
    size_t size;
} fuzz_input;

static struct fuzz_state {
    fuzz_input seed[FUZZ_SEEDS_MAX];
    int seeds;
    uint64_t random;
    const uint8_t *now; /* the input being tried */
    size_t now_size;
    const char *name;
} fuzz_state;

static uint64_t fuzz_random(void)
{
    uint64_t z = (fuzz_state.random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t fuzz_below(size_t n)
{
    return n ? (size_t)(fuzz_random() % n) : 0;
}

static void fuzz_write(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) fprintf(stderr, "%s: cannot be written\n", path);
}

/* Last act of a dying process. */
static void fuzz_save_input(void)
{
    char path[512];

    mkdir("out", 0777);
    mkdir("out/fuzz", 0777);
    snprintf(path, sizeof path, "out/fuzz/%s.crash", fuzz_state.name);
    fuzz_write(path, fuzz_state.now, fuzz_state.now_size);
    fprintf(stderr, "the input, %lu bytes, is in %s\n", (unsigned long)fuzz_state.now_size, path);
}

static void fuzz_on_signal(int number)
{
    fprintf(stderr, number == SIGALRM ? "an input takes longer than %d s\n" : "a signal ended it (limit %d s)\n",
            (int)FUZZ_SLOW_S);
    fuzz_save_input();
    _exit(1);
}

static void fuzz_try(const uint8_t *data, size_t size)
{
    uint8_t *exact = (uint8_t *)malloc(size ? size : 1);

    if (!exact) exit(1);
    if (size) memcpy(exact, data, size);
    fuzz_state.now = exact;
    fuzz_state.now_size = size;
    alarm(FUZZ_SLOW_S);
    if (LLVMFuzzerTestOneInput(exact, size) != 0) {
        fprintf(stderr, "the target did not return 0\n");
        fuzz_save_input();
        exit(1);
    }
    free(exact);
}

static void fuzz_add_seed(const uint8_t *data, size_t size)
{
    fuzz_input *s = &fuzz_state.seed[fuzz_state.seeds];

    if (fuzz_state.seeds == FUZZ_SEEDS_MAX) return;
    s->data = (uint8_t *)malloc(size ? size : 1);
    if (!s->data) exit(1);
    if (size) memcpy(s->data, data, size);
    s->size = size;
    fuzz_state.seeds++;
}

/* Writes one of the numbers at which readers stumble, as 1, 2, 4 or 8 little-endian bytes. */
static void fuzz_put_number(uint8_t *at, size_t room)
{
    static const uint64_t edge[] = { 0, 1, 7, 8, 9, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 0x7fffffff,
                                     0x80000000u, 0xffffffffu, 0x100000000u, 0x7fffffffffffffffu,
                                     0x8000000000000000u, 0xffffffffffffffffu };
    uint64_t v = edge[fuzz_below(sizeof edge / sizeof edge[0])] + fuzz_below(5) - 2;
    size_t bytes = (size_t)1 << fuzz_below(4), i;

    for (i = 0; i < bytes && i < room; i++) at[i] = (uint8_t)(v >> (8 * i));
}

static size_t fuzz_mutate(uint8_t *buffer, size_t size)
{
    static const char *const words[] = { "-1", "0", "1e999", "nan", "inf", "-0", "18446744073709551615",
                                         "99999999999999999999999", "\"", "{", "}", "[", "]", ",", ":", "\n", "\r\n",
                                         "\\u0000", "\xef\xbb\xbf", "0x10", "1e-400", "." };
    size_t at = fuzz_below(size + 1), length = fuzz_below(size - at + 1), other;
    const fuzz_input *seed;
    const char *word;

    if (length > 64 && fuzz_below(4)) length = fuzz_below(64);
    switch (fuzz_below(9)) {
    case 0:
        if (at < size) buffer[at] ^= (uint8_t)(1u << fuzz_below(8));
        return size;
    case 1:
        if (at < size) buffer[at] = (uint8_t)fuzz_random();
        return size;
    case 2: fuzz_put_number(buffer + at, size - at); return size;
    case 3: fuzz_put_number(buffer, size); return size; /* formats like to begin with a length */
    case 4: memmove(buffer + at, buffer + at + length, size - at - length); return size - length;
    case 5: return at;
    case 6:
        if (size + length > FUZZ_ROOM) return size;
        memmove(buffer + at + length, buffer + at, size - at);
        return size + length;
    case 7:
        word = words[fuzz_below(sizeof words / sizeof words[0])];
        length = strlen(word);
        if (size + length > FUZZ_ROOM) return size;
        memmove(buffer + at + length, buffer + at, size - at);
        memcpy(buffer + at, word, length);
        return size + length;
    default:
        seed = &fuzz_state.seed[fuzz_below((size_t)fuzz_state.seeds)];
        other = fuzz_below(seed->size + 1);
        length = seed->size - other;
        if (length > FUZZ_ROOM - at) length = FUZZ_ROOM - at;
        memcpy(buffer + at, seed->data + other, length);
        return at + length;
    }
}

static double fuzz_now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fuzz_wrong(const char *option)
{
    fprintf(stderr, "%s: %s: wrong option or value; options: --seconds N, --seed N, --write-seeds DIR, FILE ...\n",
            fuzz_state.name, option);
    return 2;
}

int main(int argc, char **argv)
{
    static uint8_t buffer[FUZZ_ROOM];
    const char *folder = NULL, *slash = strrchr(argv[0], '/');
    double seconds = 3, start;
    uint64_t inputs = 0;
    size_t size;
    int i, steps;

    fuzz_state.name = slash ? slash + 1 : argv[0];
    fuzz_state.random = 1;
    for (i = 1; i < argc;) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (strncmp(argv[i], "--", 2) == 0 && !value) return fuzz_wrong(argv[i]);
        if (strcmp(argv[i], "--seconds") == 0) seconds = strtod(value, &end);
        else if (strcmp(argv[i], "--seed") == 0) fuzz_state.random = strtoull(value, &end, 10);
        else if (strcmp(argv[i], "--write-seeds") == 0) folder = value;
        else if (strncmp(argv[i], "--", 2) == 0) return fuzz_wrong(argv[i]);
        else {
            FILE *f = fopen(argv[i], "rb");
            if (!f) return fuzz_wrong(argv[i]);
            size = fread(buffer, 1, sizeof buffer, f);
            fclose(f);
            fuzz_add_seed(buffer, size);
            i++;
            continue;
        }
        if (end && *end) return fuzz_wrong(argv[i]);
        i += 2;
    }
#ifdef FUZZ_SEEDS
    for (i = 0; fuzz_state.seeds < FUZZ_SEEDS_MAX && (size = FUZZ_SEEDS(i, buffer, sizeof buffer)) > 0; i++) {
        fuzz_add_seed(buffer, size);
    }
#endif
    if (fuzz_state.seeds == 0) fuzz_add_seed(buffer, 0);
    if (folder) {
        char path[512];
        for (i = 0; i < fuzz_state.seeds; i++) {
            snprintf(path, sizeof path, "%s/seed_%03d", folder, i);
            fuzz_write(path, fuzz_state.seed[i].data, fuzz_state.seed[i].size);
        }
        return 0;
    }

    signal(SIGALRM, fuzz_on_signal);
#ifdef FUZZ_ASAN
    __sanitizer_set_death_callback(fuzz_save_input);
#else
    signal(SIGSEGV, fuzz_on_signal);
    signal(SIGABRT, fuzz_on_signal);
#endif
    start = fuzz_now_s();
    for (i = 0; i < fuzz_state.seeds; i++, inputs++) fuzz_try(fuzz_state.seed[i].data, fuzz_state.seed[i].size);
    while (fuzz_now_s() - start < seconds) {
        const fuzz_input *seed = &fuzz_state.seed[fuzz_below((size_t)fuzz_state.seeds)];
        size = seed->size;
        if (size) memcpy(buffer, seed->data, size);
        for (steps = 1 + (int)fuzz_below(6); steps > 0; steps--) size = fuzz_mutate(buffer, size);
        fuzz_try(buffer, size);
        inputs++;
    }
    printf("%s: %d seeds, %lu inputs in %.1f s\n", fuzz_state.name, fuzz_state.seeds, (unsigned long)inputs,
           fuzz_now_s() - start);
    printf("1 passed, 0 failed\n");
    return 0;
}

#endif /* FUZZ_LIBFUZZER */
#endif /* FUZZ_MAIN_H */
