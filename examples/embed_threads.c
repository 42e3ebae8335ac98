/* embed_threads.c - four workers on one balancer: a block of memory between them, no lock

   Each worker is a thread with a handle of its own on the shared block, as the worker processes of a proxy would be: it
   picks and ends requests on its own and sees what the others have in flight. A fifth thread, the keeper, ticks: only
   it changes weights and ejects servers. Half-way it drains a server, and later takes it back.

   Five servers of speeds 1, 2, 3, 4 and 5; a request takes 5 ms over the speed on average. The clock is real, so no
   two runs are the same.

   Build:   make build/embed_threads, or with no Makefile:
            cc -std=c99 -D_POSIX_C_SOURCE=200809L -I. examples/embed_threads.c -lm -pthread -o embed_threads
   Run:     build/embed_threads [--seconds X] [--seed N]
   Prints:  what each server got, from which worker, and that everything adds up */

#define RLLB_IMPLEMENTATION
#include "rllb.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS = 4, SERVERS = 5, FLIGHTS = 256 };
#define RATE 2000.0 /* requests a second and worker */

typedef struct worker {
    pthread_t thread;
    rllb_balancer *balancer;
    rllb_rng rng;
    int64_t picked[SERVERS], none;
} worker;

static const rllb_server_desc servers[SERVERS] = {
    { "alder", 1 }, { "birch", 2 }, { "cedar", 3 }, { "elm", 4 }, { "fir", 5 },
};
static double seconds = 1, end_s;

/* Times are small numbers, counted from the first call. */
static double now(void)
{
    static time_t first;
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    if (!first) first = t.tv_sec;
    return (double)(t.tv_sec - first) + 1e-9 * (double)t.tv_nsec;
}

static void pause_us(long us)
{
    struct timespec t = { 0, 0 };

    t.tv_nsec = 1000 * us;
    nanosleep(&t, NULL);
}

/* ---- a worker ---------------------------------------------------------------------------------------------------- */

typedef struct flight {
    int32_t server;
    double started_s, ends_s;
} flight;

/* An event loop: ends what has come back, begins what has come in. Until the time is up and all has come back. */
static void *work(void *user)
{
    worker *w = (worker *)user;
    double now_s = now(), next_s = now_s;
    flight flights[FLIGHTS], f;
    int32_t count = 0, i;

    while (now_s < end_s || count > 0) {
        now_s = now();
        for (i = count - 1; i >= 0; i--) {
            if (flights[i].ends_s > now_s) continue;
            rllb_balancer_done(w->balancer, flights[i].server, flights[i].started_s, now_s, RLLB_OUTCOME_OK);
            flights[i] = flights[--count];
        }
        while (next_s <= now_s && next_s < end_s && count < FLIGHTS) {
            next_s += rllb_rng_exponential(&w->rng, 1 / RATE);
            f.server = rllb_balancer_pick(w->balancer, 0, now_s);
            if (f.server < 0) {
                w->none++;
                continue;
            }
            w->picked[f.server]++;
            f.started_s = now_s;
            f.ends_s = now_s + rllb_rng_exponential(&w->rng, 0.005) / (double)servers[f.server].weight;
            flights[count++] = f;
        }
        pause_us(100);
    }
    return NULL;
}

/* ---- the keeper -------------------------------------------------------------------------------------------------- */

static void *keep(void *user)
{
    rllb_balancer *b = (rllb_balancer *)user;
    double begin_s = now();
    int step = 0;

    while (now() < end_s) {
        double now_s = now(), past = (now_s - begin_s) / seconds;
        rllb_balancer_tick(b, now_s);
        if (step == 0 && past > 0.4) {
            rllb_balancer_set_state(b, 0, RLLB_SERVER_DRAINING, now_s);
            step = 1;
        } else if (step == 1 && past > 0.6) {
            rllb_balancer_set_state(b, 0, RLLB_SERVER_UP, now_s);
            step = 2;
        }
        pause_us(5000);
    }
    return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* False, and told, unless what the workers counted is what the block says. */
static bool print(const rllb_balancer *b, const worker *workers)
{
    int64_t all = 0, none = 0, lost = 0;
    rllb_server_info s[SERVERS];
    rllb_counters counters;
    bool right;
    int32_t i, w;

    for (i = 0; i < SERVERS; i++) {
        rllb_balancer_server(b, i, &s[i]);
        all += (int64_t)s[i].picks;
    }
    printf("%-7s %6s %8s %7s %9s %8s   by worker\n", "server", "weight", "requests", "share", "in flight", "mean ms");
    for (i = 0; i < SERVERS; i++) {
        int64_t picked = 0;
        printf("%-7s %6g %8lld %5.1f %% %9lld %8.2f  ", s[i].name, (double)s[i].weight, (long long)s[i].picks,
               all ? 100 * (double)s[i].picks / (double)all : 0, (long long)s[i].in_flight,
               s[i].samples ? 1e3 * s[i].duration_sum_s / (double)s[i].samples : 0);
        for (w = 0; w < WORKERS; w++) {
            printf(" %7lld", (long long)workers[w].picked[i]);
            picked += workers[w].picked[i];
        }
        printf("\n");
        lost += picked - (int64_t)s[i].picks + (int64_t)(s[i].picks - s[i].done) + s[i].in_flight;
    }
    for (w = 0; w < WORKERS; w++) none += workers[w].none;
    rllb_balancer_counters(b, &counters);
    right = lost == 0 && none == (int64_t)counters.no_server && counters.stray_done == 0;
    printf("requests: %lld in %g s; %llu found no server, %llu times ran backwards; counters %s\n", (long long)all,
           seconds, (unsigned long long)counters.no_server, (unsigned long long)counters.bad_time,
           right ? "add up" : "do not add up");
    return right;
}

/* One handle on the block; the first one lays it out. */
static rllb_balancer *open_handle(rllb_balancer_desc *desc, int32_t which, bool join)
{
    rllb_balancer *b;

    desc->worker = which;
    desc->join = join;
    b = rllb_balancer_create(desc);
    if (b) return b;
    fprintf(stderr, "embed_threads: no handle\n");
    exit(1);
}

static int run(uint64_t seed)
{
    static worker workers[WORKERS];
    rllb_balancer_desc desc;
    rllb_balancer *keeper;
    pthread_t thread;
    bool right;
    int32_t i;

    rllb_balancer_desc_default(&desc); /* shortest expected delay */
    desc.servers = servers;
    desc.count = SERVERS;
    desc.seed = seed;
    desc.workers = WORKERS;
    desc.shared_size = rllb_balancer_shared_size(&desc);
    if (posix_memalign(&desc.shared, 64, desc.shared_size)) return 1; /* processes would mmap it */
    for (i = 0; i < WORKERS; i++) {
        workers[i].balancer = open_handle(&desc, i, i > 0);
        rllb_rng_init(&workers[i].rng, seed, (uint64_t)i + 1);
    }
    keeper = open_handle(&desc, -1, true);
    end_s = now() + seconds;
    if (pthread_create(&thread, NULL, keep, keeper)) return 1;
    for (i = 0; i < WORKERS; i++) {
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) return 1;
    }
    for (i = 0; i < WORKERS; i++) pthread_join(workers[i].thread, NULL);
    pthread_join(thread, NULL);
    right = print(keeper, workers);
    rllb_balancer_destroy(keeper);
    for (i = 0; i < WORKERS; i++) rllb_balancer_destroy(workers[i].balancer);
    free(desc.shared);
    return right ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    int i;

    for (i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        char *end = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            printf("four workers on one balancer of rllb.h\n\nusage: %s [--seconds X] [--seed N]\n", argv[0]);
            return 0;
        }
        if (strcmp(argv[i], "--seed") == 0 && *value != '-') seed = strtoull(value, &end, 10);
        if (strcmp(argv[i], "--seconds") == 0) seconds = strtod(value, &end);
        if (!end || *end || end == value || !(seconds >= 0.01 && seconds <= 3600)) {
            fprintf(stderr, "embed_threads: %s: there are --seconds X (0.01 to 3600), --seed N (whole) and --help\n",
                    argv[i]);
            return 2;
        }
    }
    return run(seed);
}
