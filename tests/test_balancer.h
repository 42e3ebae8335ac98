/* test_balancer.h - what the tests of the balancer share: descriptors without surprises, shorthand, statistics

   Statistical checks use fixed seeds, so they pass always or never. Their bounds are chosen so that a right
   implementation would miss them for about one seed in a million: chi-square is turned into a standard normal
   (Wilson and Hilferty 1931) and must stay below 5. */

#ifndef TEST_BALANCER_H
#define TEST_BALANCER_H

#include <stdlib.h>

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include "test.h"

enum { SERVERS_MAX = 160 };

/* A check that failed. */
#define FAIL(words) ((void)test_check(false, __FILE__, __LINE__, "%s: not so", words))

static const double NOT_A_NUMBER = (double)NAN, INFINITE = (double)INFINITY;

/* No guard rail interferes: the policy's rule alone. */
static inline void guard_off(rllb_guard *g)
{
    g->floor = g->ceiling = g->rate = g->deadline_s = g->eject_failures = g->eject_rate = RLLB_OFF;
    g->panic = g->slow_start_s = g->minimum_share = g->failure_s = RLLB_OFF;
}

/* n unnamed servers of weight 1, no guard, ties to the lowest index. */
static inline rllb_balancer_desc plain(rllb_balance policy, int32_t n)
{
    rllb_balancer_desc d;

    rllb_balancer_desc_default(&d);
    d.policy = policy;
    d.count = n;
    d.seed = 20;
    d.ties = RLLB_TIES_FIRST;
    guard_off(&d.guard);
    return d;
}

static inline rllb_server_info info_of(const rllb_balancer *b, int32_t server)
{
    rllb_server_info info;

    memset(&info, 0, sizeof info);
    if (rllb_balancer_server(b, server, &info) != RLLB_OK) FAIL("the server is there");
    return info;
}

static inline rllb_counters counters_of(const rllb_balancer *b)
{
    rllb_counters c;

    memset(&c, 0xff, sizeof c);
    rllb_balancer_counters(b, &c);
    return c;
}

static inline int64_t in_flight(const rllb_balancer *b, int32_t server)
{
    return info_of(b, server).in_flight;
}

/* One request to a server of our choosing, by a retry that has tried all others. */
static inline bool send_to(rllb_balancer *b, int32_t server, double now_s)
{
    int32_t tried[SERVERS_MAX] = { 0 }, n = rllb_balancer_servers(b), i, count = 0, to;

    for (i = 0; i < n && i < SERVERS_MAX; i++) {
        if (i != server) tried[count++] = i;
    }
    to = rllb_balancer_pick_other(b, tried, count, now_s);
    return to == server;
}

/* A whole request of the given duration, ended at now_s. */
static inline bool request(rllb_balancer *b, int32_t server, double duration_s, double now_s)
{
    return send_to(b, server, now_s) &&
           rllb_balancer_done(b, server, now_s - duration_s, now_s, RLLB_OUTCOME_OK) == RLLB_OK;
}

/* A pick that leaves nothing behind: where would a request go now? */
static inline int32_t peek(rllb_balancer *b, uint64_t key, double now_s)
{
    int32_t server = rllb_balancer_pick(b, key, now_s);

    if (server >= 0 && rllb_balancer_done(b, server, now_s, now_s, RLLB_OUTCOME_CANCELLED) != RLLB_OK) {
        FAIL("a request that was picked can be cancelled");
    }
    return server;
}

/* The observation of a tick that must work, with as many numbers as expected; NULL if there is none. */
static inline const float *tick_and_observe(rllb_balancer *b, double now_s, int32_t expected)
{
    const float *observation;
    int32_t n = -1;

    CHECK(rllb_balancer_tick(b, now_s));
    observation = rllb_balancer_observe(b, &n);
    CHECK(observation != NULL);
    CHECK_EQ_I(n, expected);
    return observation;
}

enum { HANDLES = 4 };

/* A block of memory and a handle for each of its workers. */
typedef struct block {
    unsigned char *memory, *base; /* base: aligned to 64 */
    size_t size;
    rllb_balancer_desc desc;
    rllb_balancer *worker[HANDLES];
} block;

static inline bool block_open_as(block *k, const rllb_balancer_desc *desc)
{
    int32_t i;

    memset(k, 0, sizeof *k);
    k->desc = *desc;
    k->desc.workers = HANDLES;
    k->size = rllb_balancer_shared_size(&k->desc);
    if (k->size == 0) return false;
    k->memory = (unsigned char *)malloc(k->size + 64);
    if (!k->memory) return false;
    memset(k->memory, 0xa5, k->size + 64);
    k->base = k->memory + (64 - (uintptr_t)k->memory % 64) % 64;
    k->desc.shared = k->base;
    k->desc.shared_size = k->size;
    for (i = 0; i < HANDLES; i++) {
        k->desc.worker = i;
        k->desc.join = i > 0;
        k->worker[i] = rllb_balancer_create(&k->desc);
        if (!k->worker[i]) return false;
    }
    return true;
}

static inline bool block_open(block *k, rllb_balance policy, int32_t n)
{
    rllb_balancer_desc d = plain(policy, n);

    return block_open_as(k, &d);
}

static inline void block_close(block *k)
{
    int32_t i;

    for (i = 0; i < HANDLES; i++) rllb_balancer_destroy(k->worker[i]);
#ifdef RLLB_I_ASAN
    if (k->memory) ASAN_UNPOISON_MEMORY_REGION(k->memory, k->size + 64);
#endif
    free(k->memory);
}

/* Weights over `decades` orders of magnitude, around 1. */
static inline float random_weight(rllb_rng *r, double decades)
{
    return (float)exp((rllb_rng_double(r) - 0.5) * decades * 2.302585092994046);
}

/* Chi-square of counts against probabilities, as a standard normal deviate. Cells that cannot happen must be empty;
   cells that happen less than five times are put together. */
static inline double chi_square_z(const double *count, const double *probability, int cells)
{
    double n = 0, chi = 0, df = -1, c, rare = 0, rare_expected = 0;
    int i;

    for (i = 0; i < cells; i++) n += count[i];
    for (i = 0; i < cells; i++) {
        double expected = n * probability[i];
        if (expected <= 0 && count[i] > 0) return INFINITE;
        if (expected <= 0) continue;
        if (expected < 5) {
            rare += count[i];
            rare_expected += expected;
            continue;
        }
        chi += (count[i] - expected) * (count[i] - expected) / expected;
        df++;
    }
    if (rare_expected >= 5) {
        chi += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
        df++;
    }
    if (df < 1) return 0;
    c = 2 / (9 * df);
    return (pow(chi / df, 1.0 / 3) - (1 - c)) / sqrt(c);
}

/* Where picks go while nothing else changes, held against probabilities. */
static inline double picks_z(rllb_balancer *b, const double *probability, int32_t n, int32_t picks)
{
    double count[SERVERS_MAX] = { 0 };
    int32_t i;

    for (i = 0; i < picks; i++) {
        int32_t server = peek(b, 0, 1);
        if (server < 0 || server >= n) return INFINITE;
        count[server]++;
    }
    return chi_square_z(count, probability, n);
}

static inline int by_double(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Quantile by sorting and interpolating, as numpy does. Reorders v. */
static inline double plain_quantile(double *v, int n, double q)
{
    double at = q * (n - 1);
    int low = (int)floor(at);

    if (n < 1) return 0;
    qsort(v, (size_t)n, sizeof *v, by_double);
    return low + 1 < n ? v[low] * (1 - (at - low)) + v[low + 1] * (at - low) : v[n - 1];
}

#endif /* TEST_BALANCER_H */
