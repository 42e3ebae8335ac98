/* bench.h - what the benchmark programs share: timing, the table, the result lines

       #include "bench.h"

       static void job(void *user) { ... }                       one unit of work
       static void yardstick(void *user) { ... }                 what limits it, timed in turn with it

       int main(int argc, char **argv)
       {
           bench b;
           bench_sample t;

           bench_open(&b, argc, argv, "what this program measures");
           if (bench_wanted(&b, "J1_9")) {
               t = bench_time(&b, job, &state, yardstick, &state);  yardstick may be NULL
               bench_row(&b, "J1_9", t.job_s * 1e9, "ns", limit_ns, BENCH_LESS_IS_BETTER);
           }
           return bench_close(&b);
       }

   The clock is the thread's own CPU time, so that other processes on the machine cost as little as can be. A sample
   repeats the work until it takes at least sample_s (40 ms); job and yardstick take turns, and the figure is the
   median of 21 samples. On a shared machine only ratios within one run mean something: hence limits measured in the
   same run. share_of_limit is value / limit for rates and limit / value for times; 1 is as fast as the limit.

   Each row becomes a line of the table and, with --out DIR, a line of DIR/results.jsonl:
       {"job":"J1_9","value":131.2,"unit":"ns","limit":98.1,"share_of_limit":0.748}
   without limit: null. Needs POSIX clocks. */

#ifndef BENCH_H
#define BENCH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BENCH_SAMPLES_MAX = 101 };

typedef enum bench_sense { BENCH_MORE_IS_BETTER, BENCH_LESS_IS_BETTER } bench_sense;

typedef struct bench {
    const char *only; /* part of a job's name, or NULL */
    FILE *results;    /* NULL without --out */
    double sample_s;  /* least time of one sample */
    int samples, rows;
    uint64_t seed;
} bench;

typedef struct bench_sample {
    double job_s, yardstick_s; /* medians, seconds a call; yardstick_s is 0 without a yardstick */
    double ratio;              /* median of yardstick / job, pair by pair; 0 without */
    double job_least_s;        /* the best sample */
} bench_sample;

typedef void (*bench_fn)(void *user);

/* Keeps the compiler from dropping work whose result nobody reads. */
#if defined(__GNUC__)
#define BENCH_KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
#else
#define BENCH_KEEP(pointer) ((void)*(volatile const char *)(pointer))
#endif

static inline double bench_now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int bench_by_value(const void *a, const void *b)
{
    double x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static inline double bench_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, bench_by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static inline double bench_calls_s(bench_fn fn, void *user, int64_t calls)
{
    double start = bench_now_s();
    int64_t i;

    for (i = 0; i < calls; i++) fn(user);
    return bench_now_s() - start;
}

/* How many calls fill a sample; warms caches on the way. */
static inline int64_t bench_calibrate(const bench *b, bench_fn fn, void *user)
{
    int64_t calls = 1;

    for (;;) {
        double took = bench_calls_s(fn, user, calls);
        if (took >= b->sample_s) return calls;
        calls = took > b->sample_s / 8 ? (int64_t)((double)calls * b->sample_s / took * 1.05) + 1 : calls * 4;
    }
}

static inline bench_sample bench_time(const bench *b, bench_fn fn, void *user, bench_fn yardstick, void *yard_user)
{
    double job[BENCH_SAMPLES_MAX], yard[BENCH_SAMPLES_MAX], ratio[BENCH_SAMPLES_MAX];
    bench_sample out = { 0, 0, 0, 0 };
    int64_t calls = bench_calibrate(b, fn, user);
    int64_t yard_calls = yardstick ? bench_calibrate(b, yardstick, yard_user) : 0;
    int i;

    for (i = 0; i < b->samples; i++) {
        if (yardstick) yard[i] = bench_calls_s(yardstick, yard_user, yard_calls) / (double)yard_calls;
        job[i] = bench_calls_s(fn, user, calls) / (double)calls;
        if (yardstick) ratio[i] = yard[i] / job[i];
    }
    out.job_s = bench_median(job, b->samples);
    out.job_least_s = job[0];
    if (yardstick) {
        out.yardstick_s = bench_median(yard, b->samples);
        out.ratio = bench_median(ratio, b->samples);
    }
    return out;
}

static inline bool bench_wanted(const bench *b, const char *job)
{
    return !b->only || strstr(job, b->only);
}

/* A finite number as JSON, or null. */
static inline void bench_json(FILE *f, const char *key, double value)
{
    if (value - value >= 0) fprintf(f, "\"%s\":%.6g", key, value);
    else fprintf(f, "\"%s\":null", key);
}

/* Prints and records one figure. limit in the unit of the value; NAN or 0: there is none. */
static inline void bench_row(bench *b, const char *job, double value, const char *unit, double limit, bench_sense sense)
{
    bool limited = limit > 0;
    double share = limited ? (sense == BENCH_LESS_IS_BETTER ? limit / value : value / limit) : (double)NAN;

    if (b->rows++ == 0) printf("%-28s %12s %-12s %12s %8s\n", "job", "value", "unit", "limit", "share");
    printf("%-28s %12.5g %-12s ", job, value, unit);
    if (limited) printf("%12.5g %6.1f %%\n", limit, 100 * share);
    else printf("%12s %8s\n", "-", "-");
    fflush(stdout);
    if (!b->results) return;
    fprintf(b->results, "{\"job\":\"%s\",", job);
    bench_json(b->results, "value", value);
    fprintf(b->results, ",\"unit\":\"%s\",", unit);
    bench_json(b->results, "limit", limited ? limit : (double)NAN);
    fprintf(b->results, ",");
    bench_json(b->results, "share_of_limit", share);
    fprintf(b->results, "}\n");
}

static inline void bench_wrong(const char *program, const char *option, const char *words)
{
    fprintf(stderr, "%s: %s: %s\n", program, option, words);
    exit(2);
}

/* Reads the options, opens DIR/results.jsonl to append to, prints what is measured on what. Ends the program with
   status 2 when the command is wrong. */
static inline void bench_open(bench *b, int argc, char **argv, const char *about)
{
    const char *out = NULL;
    char line[256];
    FILE *cpu;
    int i;

    memset(b, 0, sizeof *b);
    b->sample_s = 0.04;
    b->samples = 21;
    b->seed = 1;
    for (i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            printf("%s\n\nusage: %s [--out DIR] [--only WORD] [--samples N] [--seed N]\n"
                   "    --out DIR      append one JSON object a row to DIR/results.jsonl\n"
                   "    --only WORD    only the jobs whose name contains WORD\n"
                   "    --samples N    samples a figure, 1 ... %d (default 21)\n"
                   "    --seed N       of the random inputs (default 1)\n",
                   about, argv[0], (int)BENCH_SAMPLES_MAX);
            exit(0);
        }
        if (strcmp(argv[i], "--out") != 0 && strcmp(argv[i], "--only") != 0 && strcmp(argv[i], "--samples") != 0 &&
            strcmp(argv[i], "--seed") != 0) {
            bench_wrong(argv[0], argv[i], "no such option (see --help)");
        }
        if (!value) bench_wrong(argv[0], argv[i], "needs a value");
        if (strcmp(argv[i], "--out") == 0) out = value;
        else if (strcmp(argv[i], "--only") == 0) b->only = value;
        else {
            unsigned long long n = strtoull(value, &end, 10);
            if (end == value || *end || value[0] == '-') bench_wrong(argv[0], argv[i], "needs a whole number");
            if (strcmp(argv[i], "--seed") == 0) b->seed = n;
            else if (n < 1 || n > BENCH_SAMPLES_MAX) bench_wrong(argv[0], argv[i], "out of range (see --help)");
            else b->samples = (int)n;
        }
    }
    if (out) {
        char path[1024];
        if (snprintf(path, sizeof path, "%s/results.jsonl", out) >= (int)sizeof path) {
            bench_wrong(argv[0], "--out", "the name is too long");
        }
        b->results = fopen(path, "a");
        if (!b->results) bench_wrong(argv[0], path, "cannot be written");
    }
    printf("%s\n", about);
    cpu = fopen("/proc/cpuinfo", "r");
    while (cpu && fgets(line, (int)sizeof line, cpu)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            printf("processor: %s", colon + 2);
            break;
        }
    }
    if (cpu) fclose(cpu);
#ifdef __clang__
    printf("compiler: %s, ", __VERSION__);
#elif defined(__GNUC__)
    printf("compiler: gcc %s, ", __VERSION__);
#endif
    printf("median of %d samples of %.0f ms, thread CPU time\n\n", b->samples, b->sample_s * 1e3);
}

/* Exit status of the program: 0, or 1 when nothing was measured or the results could not be written. */
static inline int bench_close(bench *b)
{
    int status = 0;

    if (b->rows == 0 && b->only) {
        printf("(no job here is called %s)\n", b->only);
    } else if (b->rows == 0) {
        status = 1;
    }
    if (b->results && fclose(b->results) != 0) {
        fprintf(stderr, "results.jsonl: cannot be written\n");
        status = 1;
    }
    printf("\n");
    return status;
}

#endif /* BENCH_H */
