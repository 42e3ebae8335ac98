/* test_balancer_kernels.c - the scans over servers and over samples, every set this machine has against plain loops

   Costs and ties must be the same bits in every set, and the moments too. Memory is sized exactly and aligned to 64
   bytes, so that AddressSanitizer sees the first element outside. */

#define RLLB_STATIC
#include "rllb.h"
#include "test.h"

#include <stdlib.h>

enum { SETS_MAX = 5, SERVERS_MAX = RLLB_BALANCER_SERVERS_MAX, ROUNDS = 2000 };

static const float INF = (float)INFINITY;

/* The sets of this build that this processor can run; the last is the widest. */
static int sets(const rllb_i_kernels *k[SETS_MAX])
{
    int n = 0;

    k[n++] = &rllb_i_scan_kernels_generic;
#ifdef RLLB_I_X86
    if (__builtin_cpu_supports("sse2")) k[n++] = &rllb_i_scan_kernels_sse2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) {
        k[n++] = &rllb_i_scan_kernels_avx2;
        if (__builtin_cpu_supports("avx512f")) k[n++] = &rllb_i_scan_kernels_avx512;
    }
#endif
#ifdef RLLB_I_ARM
    k[n++] = &rllb_i_scan_kernels_neon;
#endif
    return n;
}

/* Zeroed, aligned to 64 bytes, of exactly that size. */
static void *block(size_t count, size_t element_bytes)
{
    void *p = NULL;

    if (posix_memalign(&p, 64, count * element_bytes) != 0) abort();
    memset(p, 0, count * element_bytes);
    return p;
}

static float *floats(int32_t n)
{
    return (float *)block((size_t)((n + 15) / 16 * 16), sizeof(float));
}

/* The float `steps` above f >= 0. */
static float above(float f, int32_t steps)
{
    return rllb_i_float_of(rllb_i_bits_of(f) + steps);
}

TEST(sets_have_their_names)
{
    static const char *const names[] = { "generic", "sse2", "avx2", "avx512", "neon" };
    const rllb_i_kernels *k[SETS_MAX];
    int n = sets(k), s, i, known;

    for (s = 0; s < n; s++) {
        NOTE("%s", k[s]->name);
        for (known = 0, i = 0; i < 5; i++) known += strcmp(k[s]->name, names[i]) == 0;
        CHECK_EQ_I(known, 1);
        for (i = 0; i < s; i++) CHECK(strcmp(k[s]->name, k[i]->name) != 0);
    }
    CHECK(rllb_i_kernels_best() == k[n - 1]);
}

/* ---- least cost -------------------------------------------------------------------------------------------- */

typedef struct pool {
    int32_t n, workers;
    size_t stride;
    int32_t *counts; /* [workers - 1][stride], then n */
    float *scale;    /* [n] */
} pool;

static pool pool_make(int32_t n, int32_t workers, size_t gap)
{
    pool p;

    p.n = n;
    p.workers = workers;
    p.stride = (size_t)n + gap;
    p.counts = (int32_t *)block((size_t)(workers - 1) * p.stride + (size_t)n, sizeof(int32_t));
    p.scale = (float *)block((size_t)n, sizeof(float));
    return p;
}

static void pool_free(pool *p)
{
    free(p->counts);
    free(p->scale);
}

static int32_t plain_least(const pool *p, bool idle_first, uint64_t *words)
{
    static float cost[SERVERS_MAX];
    float least = INF;
    int32_t j, w, ties = 0;

    for (j = 0; j < p->n; j++) {
        int32_t sum = 0;
        for (w = 0; w < p->workers; w++) sum += p->counts[(size_t)w * p->stride + (size_t)j];
        cost[j] = (float)(sum + 1) * p->scale[j];
        if (idle_first && sum > 0) cost[j] *= 1099511627776.0f;
        if (cost[j] < least) least = cost[j];
    }
    for (j = 0; j < (p->n + 63) / 64; j++) words[j] = 0;
    for (j = 0; j < p->n; j++) {
        if (!(cost[j] < INF) || cost[j] > above(least, 8)) continue;
        words[j / 64] |= (uint64_t)1 << (j % 64);
        ties++;
    }
    return ties;
}

static int32_t run_least(const rllb_i_kernels *k, const pool *p, bool idle_first, uint64_t *words)
{
    memset(words, 0xa5, sizeof(uint64_t) * (SERVERS_MAX / 64));
    return (idle_first ? k->least_idle : k->least)(p->counts, p->stride, p->workers, p->scale, p->n, words);
}

/* Which server has the set bit of that rank. */
static int32_t server_of(const uint64_t *words, int32_t rank)
{
    int32_t j = 0;

    for (;; j++) {
        if (words[j / 64] >> (j % 64) & 1 && rank-- == 0) return j;
    }
}

static int32_t expected_pick(const uint64_t *words, int32_t ties, uint32_t random)
{
    return ties ? server_of(words, (int32_t)(((uint64_t)random * (uint64_t)(uint32_t)ties) >> 32)) : -1;
}

/* The picks that rest on what `words` says: first, last and one between. */
static void check_picks(const rllb_i_kernels *k, const pool *p, bool idle_first, const uint64_t *words, int32_t ties)
{
    uint32_t randoms[] = { 0, 0xffffffffu, 0x9e3779b9u * (uint32_t)(p->n + ties) };
    rllb_i_blocks known;
    int i;

    for (i = 0; i < 3; i++) {
        int32_t expected = expected_pick(words, ties, randoms[i]);
        uint64_t changed = i ? 0 : ~(uint64_t)0 >> (64 - (p->n + 63) / 64);
        if (p->n <= 64) {
            CHECK_EQ_I(k->pick(p->counts, p->stride, p->workers, p->scale, p->n, idle_first, randoms[i]), expected);
        }
        if (p->workers > 1) continue;
        CHECK_EQ_I(k->pick_blocks(&known, p->counts, p->scale, p->n, idle_first, changed, randoms[i]), expected);
    }
}

/* Every set, idle servers first or not, against the plain loops. */
static void check_pool(const pool *p)
{
    const rllb_i_kernels *k[SETS_MAX];
    uint64_t expected[SERVERS_MAX / 64], is[SERVERS_MAX / 64];
    int n = sets(k), s, idle;

    for (idle = 0; idle < 2; idle++) {
        int32_t ties = plain_least(p, idle != 0, expected);
        for (s = 0; s < n; s++) {
            CHECK_EQ_I(run_least(k[s], p, idle != 0, is), ties);
            CHECK_MEM(is, expected, sizeof(uint64_t) * (size_t)((p->n + 63) / 64));
            check_picks(k[s], p, idle != 0, expected, ties);
        }
    }
}

static float any_scale(rllb_rng *rng, int kind)
{
    switch (kind) {
    case 0: return 1;                                                              /* all tie */
    case 1: return INF;                                                            /* none usable */
    case 2: return 1.0f / (float)(1 + rllb_rng_below(rng, 4));                     /* ties across counts */
    case 3: return above(1, rllb_rng_below(rng, 32));                              /* ties, just and just not */
    case 4: return rllb_rng_below(rng, 4) ? INF : rllb_rng_range(rng, 0.01f, 100); /* few usable */
    case 5: return rllb_rng_below(rng, 50) ? 1e-30f : 0;                           /* free of cost */
    default: return rllb_rng_range(rng, 0.5f, 2);
    }
}

TEST(least_is_what_plain_loops_say)
{
    static const int32_t tops[] = { 1, 2, 5, 100, 20000000 };
    rllb_rng rng;
    int round;
    int32_t j;

    rllb_rng_init(&rng, 1, 0);
    for (round = 0; round < ROUNDS; round++) {
        int32_t n = 16 * (1 + (round < 256 ? round : rllb_rng_below(&rng, round % 2 ? 8 : 256))); /* each size once */
        int32_t workers = 1 + rllb_rng_below(&rng, 4), top = tops[rllb_rng_below(&rng, 5)];
        int kind = rllb_rng_below(&rng, 8);
        pool p = pool_make(n, workers, (size_t)(16 * rllb_rng_below(&rng, 2)));
        size_t i, counts = (size_t)(workers - 1) * p.stride + (size_t)n;
        for (i = 0; i < counts; i++) p.counts[i] = rllb_rng_below(&rng, top);
        for (j = 0; j < n; j++) p.scale[j] = any_scale(&rng, kind);
        check_pool(&p);
        pool_free(&p);
    }
}

/* Requests begin and end, and only the blocks where they did are looked at again. */
static void check_changes(const rllb_i_kernels *k, pool *p, bool idle_first, rllb_rng *rng)
{
    uint64_t words[SERVERS_MAX / 64], changed = ~(uint64_t)0 >> (64 - (p->n + 63) / 64);
    int32_t round, i, ties;
    rllb_i_blocks known;

    for (round = 0; round < 40; round++) {
        uint32_t random = (uint32_t)rllb_rng_u64(rng);
        ties = plain_least(p, idle_first, words);
        CHECK_EQ_I(k->pick_blocks(&known, p->counts, p->scale, p->n, idle_first, changed, random),
                   expected_pick(words, ties, random));
        for (changed = 0, i = rllb_rng_below(rng, 4); i >= 0; i--) {
            int32_t j = rllb_rng_below(rng, p->n);
            p->counts[j] = p->counts[j] > 0 && rllb_rng_below(rng, 2) ? p->counts[j] - 1 : p->counts[j] + 1;
            changed |= (uint64_t)1 << (j / 64);
        }
    }
}

TEST(blocks_that_did_not_change_are_remembered)
{
    const rllb_i_kernels *k[SETS_MAX];
    int count = sets(k), s, round;
    rllb_rng rng;
    int32_t j;

    rllb_rng_init(&rng, 3, 0);
    for (round = 0; round < 60; round++) {
        pool p = pool_make(16 * (1 + rllb_rng_below(&rng, round % 2 ? 20 : 256)), 1, 0);
        int kind = rllb_rng_below(&rng, 8);
        for (s = 0; s < count; s++) {
            for (j = 0; j < p.n; j++) p.counts[j] = rllb_rng_below(&rng, 3);
            for (j = 0; j < p.n; j++) p.scale[j] = any_scale(&rng, kind);
            check_changes(k[s], &p, s % 2 != round % 2, &rng);
        }
        pool_free(&p);
    }
}

/* One server is least, one is 8 floats above, one 9: wherever they stand, and in whatever order. */
TEST(ties_reach_eight_floats)
{
    static const float leasts[] = { 0, 1e-40f, 1, 1.9999999f, 2, 1e30f };
    static const int32_t sizes[] = { 16, 32, 48, 64, 80, 192, 1024, 4096 };
    const rllb_i_kernels *k[SETS_MAX];
    uint64_t words[SERVERS_MAX / 64];
    int count = sets(k), s, size, least, round;
    rllb_rng rng;

    rllb_rng_init(&rng, 2, 0);
    for (size = 0; size < 8; size++) {
        pool p = pool_make(sizes[size], 1, 0);
        for (least = 0; least < 6; least++) {
            for (round = 0; round < 6; round++) {
                int32_t at[3], i, j;
                for (j = 0; j < p.n; j++) p.scale[j] = round % 2 ? INF : above(leasts[least], 1000 + j);
                at[0] = rllb_rng_below(&rng, p.n);
                do at[1] = rllb_rng_below(&rng, p.n);
                while (at[1] == at[0]);
                do at[2] = rllb_rng_below(&rng, p.n);
                while (at[2] == at[0] || at[2] == at[1]);
                for (i = 0; i < 3; i++) p.scale[at[i]] = above(leasts[least], i == 0 ? 0 : 7 + i);
                check_pool(&p);
                for (s = 0; s < count; s++) {
                    CHECK_EQ_I(run_least(k[s], &p, false, words), 2);
                    CHECK(words[at[0] / 64] >> (at[0] % 64) & 1);
                    CHECK(words[at[1] / 64] >> (at[1] % 64) & 1);
                }
            }
        }
        pool_free(&p);
    }
}

/* Costs near the greatest float: what is infinite never ties with them. */
TEST(the_infinite_never_tie)
{
    static const int32_t sizes[] = { 16, 64, 128, 144 };
    const float greatest = above(INF, -1);
    const rllb_i_kernels *k[SETS_MAX];
    uint64_t words[SERVERS_MAX / 64];
    int count = sets(k), s, size;
    int32_t j, steps;

    for (size = 0; size < 4; size++) {
        pool p = pool_make(sizes[size], 2, 0);
        for (steps = 0; steps < 12; steps++) {
            for (j = 0; j < p.n; j++) p.scale[j] = INF;
            p.scale[p.n - 3] = above(greatest, -steps);
            check_pool(&p);
            for (s = 0; s < count; s++) CHECK_EQ_I(run_least(k[s], &p, false, words), 1);
        }
        p.counts[p.n - 3] = 1; /* twice the greatest is infinite too */
        p.scale[p.n - 3] = greatest;
        check_pool(&p);
        for (s = 0; s < count; s++) CHECK_EQ_I(run_least(k[s], &p, true, words), 0);
        pool_free(&p);
    }
}

/* Exactly 2^40 times: a busy server of that much smaller scale ties with an idle one. */
TEST(busy_costs_a_power_of_two_more)
{
    const rllb_i_kernels *k[SETS_MAX];
    uint64_t words[SERVERS_MAX / 64];
    int count = sets(k), s;
    pool p = pool_make(16, 1, 0);
    int32_t j;

    for (j = 0; j < 16; j++) p.scale[j] = 1000;
    p.scale[3] = 1;
    p.scale[9] = ldexpf(1, -41);
    p.counts[9] = 1;
    check_pool(&p);
    for (s = 0; s < count; s++) {
        CHECK_EQ_I(run_least(k[s], &p, true, words), 2);
        CHECK_EQ_U(words[0], 1u << 3 | 1u << 9);
    }
    pool_free(&p);
}

TEST(idle_servers_come_first)
{
    const rllb_i_kernels *k[SETS_MAX];
    uint64_t words[SERVERS_MAX / 64];
    int count = sets(k), s;
    int32_t n, j;

    for (n = 16; n <= 256; n += 16) {
        pool p = pool_make(n, 3, 16);
        for (j = 0; j < n; j++) {
            p.counts[j % 3 * (int32_t)p.stride + j] = 1; /* each is busy by one worker */
            p.scale[j] = 1e-3f;
        }
        p.counts[(n - 2) % 3 * (int32_t)p.stride + n - 2] = 0;
        p.scale[n - 2] = 1e3f; /* slow but idle */
        check_pool(&p);
        for (s = 0; s < count; s++) {
            CHECK_EQ_I(run_least(k[s], &p, true, words), 1);
            CHECK_EQ_U(words[(n - 2) / 64], (uint64_t)1 << ((n - 2) % 64));
            CHECK_EQ_I(run_least(k[s], &p, false, words), n - 1);
        }
        p.scale[n - 2] = INF; /* idle and not usable: the busy ones, then */
        for (s = 0; s < count; s++) CHECK_EQ_I(run_least(k[s], &p, true, words), n - 1);
        pool_free(&p);
    }
}

/* ---- samples taken apart ------------------------------------------------------------------------------------- */

/* Full, with one slot empty anywhere, and with many; times before and after now, across the turn of 32 bits. */
TEST(samples_come_apart_the_same_everywhere)
{
    const rllb_i_kernels *k[SETS_MAX];
    int count = sets(k), s, round;
    rllb_rng rng;

    rllb_rng_init(&rng, 4, 0);
    for (round = 0; round < 600; round++) {
        int32_t slots = 1 + rllb_rng_below(&rng, round % 3 ? 40 : 300), i, n = 0, hole = rllb_rng_below(&rng, slots);
        uint64_t *word = (uint64_t *)malloc((size_t)slots * sizeof *word);
        float *value = (float *)malloc((size_t)slots * sizeof *value);
        float *age = (float *)malloc((size_t)slots * sizeof *age);
        float *is = (float *)malloc((size_t)slots * sizeof *is), *old = (float *)malloc((size_t)slots * sizeof *old);
        uint32_t now = round % 2 ? 5 : (uint32_t)rllb_rng_u64(&rng);
        for (i = 0; i < slots; i++) {
            uint32_t tick = now - (uint32_t)rllb_rng_below(&rng, 100000) + 10;
            bool empty = round % 4 == 1 ? i == hole : round % 4 == 2 && rllb_rng_below(&rng, 2);
            word[i] = empty ? 0 : (uint64_t)tick << 32 | (uint32_t)rllb_i_bits_of(rllb_rng_range(&rng, 1e-6f, 9));
            if (empty) continue;
            value[n] = rllb_i_float_of((int32_t)(uint32_t)word[i]);
            age[n] = (int32_t)(now - tick) > 0 ? (float)(int32_t)(now - tick) / 1024 : 0;
            n++;
        }
        for (s = 0; s < count; s++) {
            CHECK_EQ_I(k[s]->split(word, slots, now, is, old), n);
            CHECK_MEM(is, value, (size_t)n * sizeof *is);
            CHECK_MEM(old, age, (size_t)n * sizeof *old);
        }
        free(word);
        free(value);
        free(age);
        free(is);
        free(old);
    }
}

/* ---- moments ----------------------------------------------------------------------------------------------- */

typedef struct samples {
    int32_t n, padded;
    float *v, *age, *product;
} samples;

static samples samples_make(int32_t n)
{
    samples x;

    x.n = n;
    x.padded = (n + 15) / 16 * 16;
    x.v = floats(n);
    x.age = floats(n);
    x.product = floats(n);
    return x;
}

static void samples_free(samples *x)
{
    free(x->v);
    free(x->age);
    free(x->product);
}

/* All sets, whose results must be the same bits. */
static rllb_i_moments reduce(samples *x, float rate)
{
    const rllb_i_kernels *k[SETS_MAX];
    int count = sets(k), s;
    float *product = floats(x->n);
    rllb_i_moments out, first;
    size_t bytes = sizeof(float) * (size_t)x->padded;
    int32_t j;

    for (s = 0; s < count; s++) {
        float *to = s == 0 ? product : x->product;
        memset(to, 0xa5, bytes);
        k[s]->reduce(x->v, x->age, x->n, rate, to, &out);
        if (s == 0) {
            first = out;
            memcpy(x->product, product, bytes);
        }
        CHECK_MEM(&out, &first, sizeof out);
        CHECK_MEM(x->product, product, bytes);
    }
    for (j = x->n; j < x->padded; j++) CHECK(product[j] == 0);
    free(product);
    return first;
}

TEST(moments_are_close_and_the_same_everywhere)
{
    double worst = 0;
    rllb_rng rng;
    int round;
    int32_t j;

    rllb_rng_init(&rng, 3, 0);
    for (round = 0; round < ROUNDS; round++) {
        samples x = samples_make(round < 300 ? 1 + round : 1 + rllb_rng_below(&rng, 1500));
        float rate = round % 7 == 0 ? 0 : rllb_rng_range(&rng, 0, 3);
        float oldest = rllb_rng_range(&rng, 0.1f, round % 2 ? 10 : 200);
        double n = (double)x.n, sum = 0, squares = 0, product = 0, fresh = 0, stddev;
        rllb_i_moments m;
        for (j = 0; j < x.n; j++) {
            x.v[j] = (float)rllb_rng_exponential(&rng, 0.3);
            x.age[j] = rllb_rng_range(&rng, 0, oldest);
            sum += (double)x.v[j];
        }
        m = reduce(&x, rate);
        for (j = 0; j < x.n; j++) {
            float halvings = rate * x.age[j];
            double f = exp2(-(double)(halvings < 90 ? halvings : 90)), v = (double)x.v[j], off = 0;
            squares += (v - sum / n) * (v - sum / n);
            product += v * f;
            fresh += f;
            if (v > 0) off = fabs((double)x.product[j] / (v * f) - 1);
            if (!(off <= worst)) worst = off;
        }
        stddev = sqrt(squares / n);
        CHECK_NEAR(m.mean, sum / n, 1e-6 * sum / n);
        CHECK_NEAR(m.stddev, stddev, 1e-6 * stddev + 1e-7 * sum / n);
        CHECK_NEAR(m.decayed, product / n, 1e-6 * product / n);
        CHECK_NEAR(m.discounted, product / fresh, 1e-6 * product / fresh);
        samples_free(&x);
    }
    NOTE("worst relative error of v f: %.3g", worst);
    CHECK(worst < 1e-6);
}

TEST(moments_at_the_edges)
{
    samples x = samples_make(19);
    rllb_i_moments m;
    int32_t j;

    for (j = 0; j < 19; j++) x.v[j] = 0.25f; /* exact in every sum */
    m = reduce(&x, 0.5f);
    CHECK(m.mean == 0.25f && m.stddev == 0 && m.decayed == 0.25f && m.discounted == 0.25f);
    CHECK_MEM(x.product, x.v, sizeof(float) * (size_t)x.padded); /* age 0 counts in full */
    for (j = 0; j < 19; j++) x.age[j] = (float)(2 * j);
    m = reduce(&x, 0.5f);
    for (j = 0; j < 19; j++) CHECK(x.product[j] == ldexpf(0.25f, -j)); /* whole halvings are exact */
    CHECK(m.discounted == 0.25f);
    for (j = 0; j < 19; j++) {
        x.v[j] = (float)(j + 1);
        x.age[j] = 1e30f;
    }
    m = reduce(&x, 3); /* all older than old: nothing is left of the decayed mean, the discounted one is plain */
    CHECK(m.mean == 10 && m.decayed >= 0 && m.decayed < 1e-25f);
    CHECK_NEAR(m.discounted, 10, 1e-5);
    CHECK_NEAR(m.stddev, sqrt(30.0), 1e-6);
    x.age[4] = 0; /* one fresh value decides */
    m = reduce(&x, 3);
    CHECK_NEAR(m.discounted, 5, 1e-6);
    samples_free(&x);

    x = samples_make(1);
    x.v[0] = 7;
    x.age[0] = 1;
    m = reduce(&x, 1);
    CHECK(m.mean == 7 && m.stddev == 0 && m.decayed == 3.5f && m.discounted == 7);
    samples_free(&x);
}

/* ---- quantiles --------------------------------------------------------------------------------------------- */

static float any_value(rllb_rng *rng, int kind)
{
    float u = rllb_rng_float(rng);

    switch (kind) {
    case 0: return u;
    case 1: return -logf(1 - u);
    case 2: return 1 / (1 - u);                                 /* a long tail */
    case 3: return (float)rllb_rng_below(rng, 4);               /* many equal */
    case 4: return 0.5f;                                        /* all equal */
    case 5: return u < 0.9f ? 0 : u;                            /* most zero */
    case 6: return expf((u - 0.5f) * 170);                      /* all sizes there are */
    case 7: return rllb_rng_below(rng, 2) ? 3e38f * u : 1e-40f; /* the ends of what a float holds */
    default: return above(1, rllb_rng_below(rng, 64));          /* all neighbours */
    }
}

static void check_quantile(const float *v, int32_t n, double q)
{
    const rllb_i_kernels *k[SETS_MAX];
    int count = sets(k), s;
    size_t bytes = sizeof(float) * (size_t)((n + 15) / 16 * 16);
    float *copy = floats(n), expected, is;

    memcpy(copy, v, bytes);
    expected = rllb_quantile(copy, n, q);
    memcpy(copy, v, bytes);
    for (s = 0; s < count; s++) {
        is = k[s]->quantile(v, n, q);
        if (is != expected) NOTE("%s, n = %d, q = %g", k[s]->name, (int)n, q);
        /* One may interpolate with a fused operation where the other does not. */
        CHECK_NEAR(is, expected, (double)expected / 8388608);
    }
    CHECK_MEM(v, copy, bytes); /* not moved */
    free(copy);
}

TEST(quantiles_are_those_of_selection)
{
    static const int32_t sizes[] = { 1, 2, 3, 5, 15, 16, 17, 127, 128, 129, 1000 };
    static const double some[] = { 0, 1, 0.5, 0.9, 0.1, 0.05, 0.99, -1, 2 };
    rllb_rng rng;
    int round;
    int32_t j;

    rllb_rng_init(&rng, 4, 0);
    for (round = 0; round < 4 * ROUNDS; round++) {
        int32_t n = round % 2 ? sizes[rllb_rng_below(&rng, 11)] : 1 + rllb_rng_below(&rng, 300);
        int kind = round / 2 % 9, which = rllb_rng_below(&rng, 12);
        double q = which < 9 ? some[which] : rllb_rng_double(&rng);
        float *v = floats(n);
        for (j = 0; j < n; j++) v[j] = any_value(&rng, kind);
        for (; j < (n + 15) / 16 * 16; j++) v[j] = round % 3 ? any_value(&rng, kind) : 0; /* not looked at */
        check_quantile(v, n, q);
        free(v);
    }
}

/* A search as the kernels make it, over values in order; its passes. */
static int32_t passes(const int32_t *bits, int32_t n, int32_t k)
{
    int32_t under = 0, upto = n, pass = 0;

    while (bits[under] != bits[upto - 1]) {
        int32_t pivot = rllb_i_pivot(bits[under], bits[upto - 1], k, under, upto, pass++), low = under, high = upto;
        if (pivot < bits[under] || pivot >= bits[upto - 1]) return INT32_MAX;
        while (low < high) { /* bits[low]: the first above the pivot */
            int32_t middle = low + (high - low) / 2;
            if (bits[middle] <= pivot) low = middle + 1;
            else high = middle;
        }
        if (low > k) upto = low;
        else under = low;
    }
    CHECK_EQ_I(bits[under], bits[k]);
    return pass;
}

/* Most values close together and few far above: interpolation alone would take as many passes as there are few. */
TEST(passes_of_a_quantile_are_bounded)
{
    enum { N = 60000, FAR = 600 };
    int32_t *bits = (int32_t *)block(N, sizeof *bits), j, most = 0, worst = 0;
    float *v = floats(N);

    for (j = 0; j < N; j++) {
        bits[j] = j < N - FAR ? j * 100 / N : 100 + (int32_t)exp2(7 + 23.9 * (j - N + FAR) / FAR);
        v[j] = rllb_i_float_of(bits[j]);
    }
    for (j = 0; j < N; j += 97) {
        int32_t taken = passes(bits, N, j);
        if (taken > most) most = taken;
    }
    worst = passes(bits, N, N - FAR - 1);
    NOTE("%d passes at most, %d where interpolation does worst", (int)most, (int)worst);
    CHECK(worst > 16); /* else this test shows nothing */
    CHECK(most <= 16 + 31 && worst <= 16 + 31);
    check_quantile(v, N, 0.5);
    check_quantile(v, N, 0.99);
    check_quantile(v, N, (double)(N - FAR - 1) / (N - 1));
    free(bits);
    free(v);
}
