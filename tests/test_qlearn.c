/* test_qlearn.c - tabular Q-learning: each part against a slow, plain statement of what it promises; what it gains and
   where it loses, on simulated backends of the published study

   Fixed seeds, so checks pass always or never. Bounds of statistics: what a right implementation would miss for about
   one seed in a million (five standard deviations), unless said otherwise. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include "test.h"

#include <stdlib.h>

static rllb_qlearn_desc desc_of(int32_t servers)
{
    rllb_qlearn_desc d;

    rllb_qlearn_desc_default(&d);
    d.servers = servers;
    d.seed = 7;
    return d;
}

/* States of one's own, no exploring, the table as asked for. */
static rllb_qlearn_desc plain_desc(int32_t servers, uint64_t states, int32_t entries)
{
    rllb_qlearn_desc d = desc_of(servers);

    d.states = states;
    d.entries = entries;
    d.epsilon = d.epsilon_min = RLLB_OFF;
    return d;
}

static rllb_qlearn_info info_of(const rllb_qlearn *q)
{
    rllb_qlearn_info info;

    memset(&info, 0, sizeof info);
    rllb_qlearn_query(q, NULL, &info);
    return info;
}

static rllb_qlearn_step step_of(uint64_t state, int32_t action)
{
    rllb_qlearn_step step;

    step.state = state;
    step.action = action;
    return step;
}

static unsigned char *saved(const rllb_qlearn *q, size_t *size)
{
    unsigned char *bytes;

    *size = rllb_qlearn_saved_size(q);
    bytes = (unsigned char *)malloc(*size);
    if (bytes && rllb_qlearn_save(q, bytes, *size) == RLLB_OK) return bytes;
    free(bytes);
    return NULL;
}

static bool same_tables(const rllb_qlearn *a, const rllb_qlearn *b)
{
    size_t size, other;
    unsigned char *x = saved(a, &size), *y = saved(b, &other);
    bool same = x && y && size == other && memcmp(x, y, size) == 0;

    free(x);
    free(y);
    return same;
}

/* ---- setup --------------------------------------------------------------------------------------------------- */

TEST(descriptor)
{
    rllb_qlearn_desc d = desc_of(3), r;
    rllb_qlearn *q = rllb_qlearn_create(&d), *none = NULL;
    rllb_qlearn_info info;
    unsigned char block[64];

    REQUIRE(q != NULL);
    rllb_qlearn_query(q, &r, &info);
    CHECK_EQ_I(r.metrics, 3);
    CHECK_NEAR(r.alpha, 0.1, 1e-7);
    CHECK_NEAR(r.gamma, 0.9, 1e-7);
    CHECK_NEAR(r.decay, 0.995, 1e-7);
    CHECK_NEAR(info.epsilon, 0.1, 1e-7);
    CHECK_EQ_I(info.levels, 3);
    CHECK_EQ_U(info.states, 27);
    CHECK_EQ_U(info.capacity, 27);
    CHECK(info.dense);
    CHECK_EQ_I(rllb_qlearn_init(&d, block, sizeof block, &none), RLLB_ERROR_MEMORY_SIZE);
    CHECK_EQ_I(rllb_qlearn_init(&d, block, sizeof block, NULL), RLLB_ERROR_ARGUMENT);
    CHECK(none == NULL);
    rllb_qlearn_destroy(q);
    rllb_qlearn_destroy(NULL);
    d.servers = 39; /* 3^39 < 2^62 < 3^40 */
    CHECK(rllb_qlearn_size(&d) > 65536 * (16 + 4 * 39) && rllb_qlearn_size(&d) < 65536 * (16 + 4 * 39) + 4096);
    d.servers = 40;
    CHECK_EQ_U(rllb_qlearn_size(&d), 0);
    CHECK_EQ_I(rllb_qlearn_init(&d, block, sizeof block, &none), RLLB_ERROR_LIMIT);
    d = desc_of(8); /* 6,561 states, 52,488 numbers: dense; nine servers: 177,147; ten: 590,490; eleven: 1,948,617 */
    CHECK(rllb_qlearn_size(&d) < 6561 * (8 + 4 * 8) + 4096);
    d.servers = 10;
    CHECK(rllb_qlearn_size(&d) < 59049 * (8 + 4 * 10) + 4096);
    d.servers = 11;
    CHECK(rllb_qlearn_size(&d) > 65536 * (16 + 4 * 11));
}

TEST(wrong_descriptors)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY, 1.5f };
    rllb_qlearn_desc d = desc_of(3);
    int i;

    CHECK(rllb_qlearn_size(&d) > 0);
    CHECK_EQ_U(rllb_qlearn_size(NULL), 0);
#define REFUSED(change)                         \
    do {                                        \
        d = desc_of(3);                         \
        change;                                 \
        CHECK_EQ_U(rllb_qlearn_size(&d), 0);    \
        CHECK(rllb_qlearn_create(&d) == NULL);  \
    } while (0)
    REFUSED(d.servers = 0);
    REFUSED(d.servers = -1);
    REFUSED(d.servers = 65);
    REFUSED(d.metrics = -1);
    REFUSED(d.metrics = 9);
    REFUSED(d.metrics = 1); /* without thresholds */
    REFUSED((d.metrics = 1, d.metric[0].thresholds = 8));
    REFUSED((d.metrics = 1, d.metric[0].thresholds = 2, d.metric[0].threshold[0] = 1, d.metric[0].threshold[1] = 1));
    REFUSED((d.metrics = 1, d.metric[0].thresholds = 1, d.metric[0].threshold[0] = NAN));
    REFUSED(d.states = ((uint64_t)1 << 62) + 1);
    REFUSED(d.entries = -1);
    REFUSED(d.entries = RLLB_QLEARN_ENTRIES_MAX + 1);
    REFUSED(d.episode = -1);
    REFUSED(d.alpha = -0.1f);
    REFUSED(d.gamma = 1);
    REFUSED(d.failure_cost = -1);
    REFUSED(d.cost_per_ms = -1);
    for (i = 0; i < 4; i++) {
        REFUSED(d.alpha = bad[i]);
        if (i != 2) REFUSED(d.gamma = bad[i]); /* negative is none */
        if (i != 2) REFUSED(d.epsilon = bad[i]);
        if (i != 2) REFUSED(d.epsilon_min = bad[i]);
        REFUSED(d.decay = bad[i]);
        if (i < 3) REFUSED(d.initial = bad[i]);
        if (i < 3) REFUSED(d.cost_per_ms = bad[i]);
        if (i < 3) REFUSED(d.failure_cost = bad[i]);
    }
#undef REFUSED
}

TEST(any_address_and_not_a_byte_less)
{
    rllb_qlearn_desc d = desc_of(3);
    size_t size = rllb_qlearn_size(&d), at;
    unsigned char *block = (unsigned char *)malloc(size + 64);

    REQUIRE(block != NULL);
    for (at = 0; at < 64; at++) {
        rllb_qlearn *q = NULL;
        rllb_qlearn_step step;
        CHECK_EQ_I(rllb_qlearn_init(&d, block + at, size - 1, &q), RLLB_ERROR_MEMORY_SIZE);
        CHECK_EQ_I(rllb_qlearn_init(&d, block + at, size, &q), RLLB_OK);
        if (!q) continue;
        step = rllb_qlearn_begin(q, rllb_qlearn_choose(q, NULL, 3));
        CHECK_EQ_I(rllb_qlearn_done(q, &step, 0.05, RLLB_OUTCOME_OK), RLLB_OK);
    }
    free(block);
}

/* ---- encoder ------------------------------------------------------------------------------------------------- */

/* The published rule in plain words, CPU, active and milliseconds of one server. */
static int32_t plain_level(float cpu, float active, float ms)
{
    int32_t level = 0;

    if (cpu >= 50 || active >= 5 || ms >= 100) level = 1;
    if (cpu >= 80 || active >= 10 || ms >= 200) level = 2;
    return level;
}

TEST(published_levels)
{
    static const float cpu[] = { NAN, -1, 0, 49.99f, 50, 79.99f, 80, 100, INFINITY };
    static const float active[] = { NAN, 0, 4, 5, 9, 10, 64, INFINITY };
    static const float ms[] = { NAN, 0, 99.9f, 100, 199.9f, 200, 5000, INFINITY };
    rllb_qlearn_desc d = desc_of(3);
    rllb_qlearn *q = rllb_qlearn_create(&d);
    int32_t level[3] = { 0, 0, 0 }, i, j, k, server = 0;

    REQUIRE(q != NULL);
    CHECK_EQ_U(rllb_qlearn_state(q), 0);
    for (i = 0; i < 9; i++) {
        for (j = 0; j < 8; j++) {
            for (k = 0; k < 8; k++, server = (server + 1) % 3) {
                float metrics[3];
                metrics[0] = cpu[i];
                metrics[1] = active[j];
                metrics[2] = ms[k];
                level[server] = plain_level(cpu[i], active[j], ms[k]);
                CHECK_EQ_I(rllb_qlearn_observe(q, server, metrics), RLLB_OK);
                CHECK_EQ_I(rllb_qlearn_level(q, server), level[server]);
                CHECK_EQ_U(rllb_qlearn_state(q), (uint64_t)(level[0] + 3 * level[1] + 9 * level[2]));
            }
        }
    }
    CHECK_EQ_I(rllb_qlearn_observe(q, 3, ms), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_observe(q, -1, ms), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_observe(q, 0, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_set_state(q, 1), RLLB_ERROR_STATE);
    CHECK_EQ_I(rllb_qlearn_level(q, 3), -1);
    rllb_qlearn_reset(q);
    for (i = 0; i < 3; i++) CHECK_EQ_I(rllb_qlearn_level(q, i), 0);
    CHECK_EQ_U(rllb_qlearn_state(q), 0);
    rllb_qlearn_destroy(q);
}

/* Two metrics of two and four levels, each with a digit of its own: 8 levels, 64 states of two servers. */
TEST(a_digit_for_each_metric)
{
    rllb_qlearn_desc d = desc_of(2);
    rllb_qlearn *q;
    float x, y, metrics[2];
    uint64_t other = 0;

    d.metrics = 2;
    d.each = true;
    d.metric[0].thresholds = 1;
    d.metric[0].threshold[0] = 1;
    d.metric[1].thresholds = 3;
    d.metric[1].threshold[0] = -1;
    d.metric[1].threshold[2] = 2.5f;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    CHECK_EQ_I(info_of(q).levels, 8);
    CHECK_EQ_U(info_of(q).states, 64);
    for (x = -2; x < 4; x += 0.5f) {
        for (y = -2; y < 4; y += 0.5f) {
            int32_t second = (y >= -1) + (y >= 0) + (y >= 2.5f);
            uint64_t digits = (uint64_t)((x >= 1) + 2 * second);
            metrics[0] = x;
            metrics[1] = y;
            rllb_qlearn_observe(q, 1, metrics);
            CHECK_EQ_U(rllb_qlearn_state(q), other + 8 * digits);
            rllb_qlearn_observe(q, 0, metrics);
            CHECK_EQ_U(rllb_qlearn_state(q), 9 * digits);
            other = digits;
        }
    }
    rllb_qlearn_destroy(q);
}

TEST(states_of_ones_own)
{
    rllb_qlearn_desc d = plain_desc(2, 10, 0);
    rllb_qlearn *q = rllb_qlearn_create(&d);
    float metrics[3] = { 0, 0, 0 };

    REQUIRE(q != NULL);
    CHECK_EQ_I(rllb_qlearn_set_state(q, 9), RLLB_OK);
    CHECK_EQ_U(rllb_qlearn_state(q), 9);
    CHECK_EQ_I(rllb_qlearn_set_state(q, 10), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_U(rllb_qlearn_state(q), 9);
    CHECK_EQ_I(rllb_qlearn_observe(q, 0, metrics), RLLB_ERROR_STATE);
    CHECK_EQ_I(rllb_qlearn_level(q, 0), -1);
    rllb_qlearn_reset(q);
    CHECK_EQ_U(rllb_qlearn_state(q), 0);
    rllb_qlearn_destroy(q);
}

/* ---- choosing ------------------------------------------------------------------------------------------------ */

/* One update of alpha 1 without a future sets a value. */
static void set_value(rllb_qlearn *q, uint64_t state, int32_t action, float value)
{
    rllb_qlearn_step step = step_of(state, action);

    CHECK_EQ_I(rllb_qlearn_update(q, &step, value, state), RLLB_OK);
}

TEST(the_best_usable_one)
{
    rllb_qlearn_desc d = plain_desc(4, 2, 0);
    const float no = INFINITY;
    float cost[4] = { 1, 1, 1, 1 };
    rllb_qlearn *q;
    int32_t i;

    d.alpha = 1;
    d.gamma = RLLB_OFF;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    for (i = 0; i < 4; i++) set_value(q, 0, i, (float)(-10 - i));
    for (i = 0; i < 4; i++) {
        CHECK_EQ_I(rllb_qlearn_choose(q, cost, 4), i);
        cost[i] = no;
        if (i % 2) cost[i] = NAN;
    }
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 4), -1);
    CHECK_EQ_U(info_of(q).no_server, 1);
    CHECK_EQ_I(rllb_qlearn_choose(q, NULL, 4), 0);
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 0), -1);
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, -5), -1);
    CHECK_EQ_I(rllb_qlearn_choose(NULL, cost, 4), -1);
    cost[1] = 5;
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 2), 1);
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 1), -1);
    CHECK_EQ_U(info_of(q).explored, 0);
    CHECK_EQ_U(info_of(q).unseen, 0);
    rllb_qlearn_destroy(q);
}

TEST(servers_that_the_table_does_not_know)
{
    rllb_qlearn_desc d = plain_desc(2, 2, 0);
    rllb_qlearn *q = rllb_qlearn_create(&d);
    float cost[5] = { 9, 9, 3, 2, 2.5f };

    REQUIRE(q != NULL);
    CHECK(rllb_qlearn_choose(q, cost, 5) < 2);
    cost[0] = cost[1] = INFINITY;
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 5), 3);
    cost[3] = NAN;
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 5), 4);
    CHECK_EQ_I(rllb_qlearn_begin(q, 4).action, -1); /* and nothing can be learned of it */
    rllb_qlearn_destroy(q);
}

/* Counts of n trials with chance p, as standard normal deviates. */
static double deviate(int32_t count, int32_t n, double p)
{
    return (count - n * p) / sqrt(n * p * (1 - p));
}

TEST(ties_and_exploring_by_chance)
{
    enum { N = 40000 };
    rllb_qlearn_desc d = plain_desc(5, 1, 0);
    float cost[5] = { 4, INFINITY, 1, 1, 3 };
    int32_t count[5] = { 0, 0, 0, 0, 0 }, i;
    rllb_qlearn *q;

    d.alpha = 1;
    d.gamma = RLLB_OFF;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    for (i = 0; i < N; i++) count[rllb_qlearn_choose(q, cost, 5)]++; /* never met: all the same */
    CHECK_EQ_I(count[1], 0);
    for (i = 0; i < 5; i++) CHECK(i == 1 || fabs(deviate(count[i], N, 0.25)) < 5);
    CHECK_EQ_U(info_of(q).unseen, N);
    set_value(q, 0, 0, -1);
    set_value(q, 0, 4, -1); /* 2 and 3 have the initial value, and are better */
    memset(count, 0, sizeof count);
    rllb_qlearn_set_epsilon(q, 0.2f);
    for (i = 0; i < N; i++) count[rllb_qlearn_choose(q, cost, 5)]++;
    CHECK_EQ_I(count[1], 0);
    CHECK(fabs(deviate(count[0], N, 0.05)) < 5);
    CHECK(fabs(deviate(count[2], N, 0.45)) < 5);
    CHECK(fabs(deviate(count[3], N, 0.45)) < 5);
    CHECK(fabs(deviate(count[4], N, 0.05)) < 5);
    CHECK(fabs(deviate((int32_t)info_of(q).explored, N, 0.2)) < 5);
    CHECK_EQ_I(rllb_qlearn_set_epsilon(q, NAN), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_set_epsilon(q, 1.01f), RLLB_ERROR_ARGUMENT);
    rllb_qlearn_destroy(q);
    d.ties_by_cost = true;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    memset(count, 0, sizeof count);
    for (i = 0; i < N; i++) count[rllb_qlearn_choose(q, cost, 5)]++;
    CHECK_EQ_I(count[2] + count[3], N);
    CHECK(fabs(deviate(count[2], N, 0.5)) < 5);
    rllb_qlearn_destroy(q);
}

TEST(epsilon_decays_by_the_episode)
{
    rllb_qlearn_desc d = desc_of(2);
    rllb_qlearn_step step = step_of(0, 1);
    double epsilon = (double)0.1f;
    rllb_qlearn *q = rllb_qlearn_create(&d);
    int32_t i;

    REQUIRE(q != NULL);
    for (i = 1; i <= 6000; i++) {
        rllb_qlearn_update(q, &step, -1, 0);
        if (i % 10 == 0) epsilon *= (double)0.995f;
        CHECK_NEAR(info_of(q).epsilon, fmax(epsilon, (double)0.01f), 1e-12);
    }
    CHECK_NEAR(info_of(q).epsilon, 0.01, 1e-8);
    rllb_qlearn_set_epsilon(q, 0);
    for (i = 0; i < 100; i++) rllb_qlearn_update(q, &step, -1, 0);
    CHECK_NEAR(info_of(q).epsilon, 0, 0);
    rllb_qlearn_reset(q);
    CHECK_NEAR(info_of(q).epsilon, (double)0.1f, 0);
    CHECK_EQ_U(info_of(q).rows, 0);
    rllb_qlearn_destroy(q);
}

/* ---- learning ------------------------------------------------------------------------------------------------ */

TEST(rewards_and_what_is_no_experience)
{
    rllb_qlearn_desc d = desc_of(3);
    rllb_qlearn *q = rllb_qlearn_create(&d), *untouched = rllb_qlearn_create(&d);
    rllb_qlearn_step step = step_of(5, 1), none = step_of(5, -1);
    const float metrics[3] = { 90, NAN, NAN };
    float v[3];

    REQUIRE(q != NULL && untouched != NULL);
    CHECK_NEAR(rllb_qlearn_reward(q, 0.075, RLLB_OUTCOME_OK), -7.5, 1e-6);
    CHECK_NEAR(rllb_qlearn_reward(q, 0.075, RLLB_OUTCOME_FAILED), -1000, 0);
    CHECK(!(rllb_qlearn_reward(q, 1, RLLB_OUTCOME_CANCELLED) <= 0));
    CHECK(!(rllb_qlearn_reward(q, -1, RLLB_OUTCOME_OK) <= 0));
    CHECK_EQ_I(rllb_qlearn_done(q, &step, 0.1, RLLB_OUTCOME_CANCELLED), RLLB_OK);
    CHECK(same_tables(q, untouched));
    CHECK_EQ_I(rllb_qlearn_done(q, &none, 0.1, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_done(q, &step, (double)NAN, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_done(q, &step, -1, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_done(q, &step, 1, (rllb_outcome)9), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_done(q, NULL, 1, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_done(NULL, &step, 1, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    step.state = 27;
    CHECK_EQ_I(rllb_qlearn_done(q, &step, 1, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    step.state = 5;
    CHECK_EQ_I(rllb_qlearn_update(q, &step, INFINITY, 0), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_update(q, &step, -1e13f, 0), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_qlearn_update(q, &step, 0, 27), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_U(info_of(q).refused, 9);
    CHECK_EQ_U(info_of(q).updates, 0);
    CHECK_EQ_U(rllb_qlearn_values(q, 5, v), 0);
    /* Q <- 0 + 0.1 (-10 + 0.9 * 0 - 0) = -1, then -1 + 0.1 (-1000 + 0 + 1) = -100.9; the next state is another one. */
    rllb_qlearn_observe(q, 0, metrics);
    CHECK_EQ_I(rllb_qlearn_done(q, &step, 0.1, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK_EQ_U(rllb_qlearn_values(q, 5, v), 1);
    CHECK_NEAR(v[1], -1, 1e-6);
    CHECK_EQ_I(rllb_qlearn_done(q, &step, 0.1, RLLB_OUTCOME_FAILED), RLLB_OK);
    CHECK_EQ_U(rllb_qlearn_values(q, 5, v), 2);
    CHECK_NEAR(v[1], -100.9, 1e-4);
    CHECK_NEAR(v[0], 0, 0);
    rllb_qlearn_destroy(q);
    rllb_qlearn_destroy(untouched);
}

/* A chain of five states, two actions, known transitions and rewards: the table comes to what value iteration says. */
TEST(value_iteration_agrees)
{
    enum { S = 5, A = 2 };
    static const int next[S][A] = { { 1, 4 }, { 2, 0 }, { 3, 3 }, { 0, 2 }, { 4, 1 } };
    static const float reward[S][A] = { { -5, -1 }, { -2, -7.5f }, { 0, -1 }, { -10, -3 }, { -4, -8 } };
    double q[S][A] = { { 0, 0 } };
    int entries, sweep, s, a;

    for (sweep = 0; sweep < 2000; sweep++) {
        for (s = 0; s < S; s++) {
            for (a = 0; a < A; a++) q[s][a] = (double)reward[s][a] + 0.9 * fmax(q[next[s][a]][0], q[next[s][a]][1]);
        }
    }
    for (entries = 0; entries <= 16; entries += 16) {
        rllb_qlearn_desc d = plain_desc(A, S, entries);
        rllb_qlearn *table = rllb_qlearn_create(&d);
        rllb_rng rng;
        REQUIRE(table != NULL);
        rllb_rng_init(&rng, 1, 0);
        for (sweep = 0; sweep < 40000; sweep++) {
            rllb_qlearn_step step;
            s = rllb_rng_below(&rng, S);
            a = rllb_rng_below(&rng, A);
            step = step_of((uint64_t)s, a);
            rllb_qlearn_update(table, &step, reward[s][a], (uint64_t)next[s][a]);
        }
        for (s = 0; s < S; s++) {
            float v[A];
            rllb_qlearn_values(table, (uint64_t)s, v);
            for (a = 0; a < A; a++) CHECK_NEAR(v[a], q[s][a], 2e-3); /* 40 half ulps of alpha steps, over 1 - gamma */
        }
        rllb_qlearn_destroy(table);
    }
}

/* A server that is down was never tried, and so has the initial value: it must not make the next state look good. */
TEST(the_best_next_is_one_that_can_be_had)
{
    rllb_qlearn_desc d = plain_desc(2, 2, 0);
    rllb_qlearn *q;
    rllb_qlearn_step step = step_of(0, 1);
    float cost[2], v[2];

    d.alpha = 1;
    d.gamma = 0.5f;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    set_value(q, 1, 1, -8); /* the best next is server 0's initial 0 */
    rllb_qlearn_update(q, &step, -1, 1);
    rllb_qlearn_values(q, 0, v);
    CHECK_NEAR(v[1], -1, 0);
    cost[0] = INFINITY;
    cost[1] = 1;
    CHECK_EQ_I(rllb_qlearn_choose(q, cost, 2), 1);
    rllb_qlearn_update(q, &step, -1, 1);
    rllb_qlearn_values(q, 0, v);
    CHECK_NEAR(v[1], -5, 0);
    rllb_qlearn_destroy(q);
}

TEST(initial_values)
{
    rllb_qlearn_desc d = plain_desc(2, 3, 0);
    int32_t entries;
    float v[2];

    d.initial = -50;
    for (entries = 0; entries <= 16; entries += 16) {
        rllb_qlearn_step step = step_of(2, 0);
        rllb_qlearn *q;
        d.entries = entries;
        q = rllb_qlearn_create(&d);
        REQUIRE(q != NULL);
        CHECK_EQ_U(rllb_qlearn_values(q, 1, v), 0);
        CHECK_NEAR(v[0] + v[1], -100, 0);
        rllb_qlearn_update(q, &step, -5, 1); /* -50 + 0.1 (-5 + 0.9 * -50 + 50) */
        CHECK_EQ_U(rllb_qlearn_values(q, 2, v), 1);
        CHECK_NEAR(v[0], -50, 1e-5);
        CHECK_NEAR(v[1], -50, 0);
        CHECK_EQ_U(rllb_qlearn_values(q, 7, v), 0); /* no such state */
        rllb_qlearn_destroy(q);
    }
}

/* ---- overlapping requests ------------------------------------------------------------------------------------ */

typedef struct flight {
    rllb_qlearn_step step;
    uint64_t next;
    double began, elapsed_s;
    rllb_outcome outcome;
} flight;

/* 2,000 requests, up to twenty at once, ends in an order of their own. In `apart` each is told from start to end by
   itself, in the order in which they ended. Both tables are the same to the bit. */
TEST(overlapping_requests_are_kept_apart)
{
    enum { N = 2000, WIDE = 20 };
    static flight all[N];
    rllb_qlearn_desc d = desc_of(3);
    rllb_qlearn *q, *apart;
    int32_t open[WIDE], waiting = 0, i, n = 0, ended = 0, kinds[3] = { 0, 0, 0 };
    rllb_rng rng;

    d.epsilon = d.epsilon_min = 0.3f;
    q = rllb_qlearn_create(&d);
    apart = rllb_qlearn_create(&d);
    REQUIRE(q != NULL && apart != NULL);
    rllb_rng_init(&rng, 3, 0);
    while (ended < N) {
        float metrics[3];
        for (i = 0; i < 3; i++) metrics[i] = rllb_rng_range(&rng, 0, i == 0 ? 110.0f : i == 1 ? 12.0f : 230.0f);
        rllb_qlearn_observe(q, rllb_rng_below(&rng, 3), metrics);
        if (n < N && waiting < WIDE && rllb_rng_below(&rng, 2)) {
            all[n].step = rllb_qlearn_begin(q, rllb_qlearn_choose(q, NULL, 3));
            open[waiting++] = n++;
        } else if (waiting > 0) {
            int32_t which = rllb_rng_below(&rng, waiting);
            flight *f = &all[open[which]], copy;
            f->elapsed_s = rllb_rng_double(&rng);
            f->outcome = (rllb_outcome)(rllb_rng_below(&rng, 8) == 0 ? rllb_rng_below(&rng, 3) : 0);
            kinds[f->outcome]++;
            CHECK_EQ_I(rllb_qlearn_done(q, &f->step, f->elapsed_s, f->outcome), RLLB_OK);
            copy = *f; /* one by one: state, server, reward, what followed */
            if (copy.outcome != RLLB_OUTCOME_CANCELLED) {
                float reward = copy.outcome == RLLB_OUTCOME_OK ? (float)((double)-0.1f * 1000 * copy.elapsed_s) : -1000;
                CHECK_EQ_I(rllb_qlearn_update(apart, &copy.step, reward, rllb_qlearn_state(q)), RLLB_OK);
            }
            open[which] = open[--waiting];
            ended++;
        }
    }
    CHECK(kinds[1] > 20 && kinds[2] > 20);
    CHECK_EQ_U(info_of(q).updates, (uint64_t)(N - kinds[2]));
    for (i = 0; i < 27; i++) {
        float a[3], b[3];
        CHECK_EQ_U(rllb_qlearn_values(q, (uint64_t)i, a), rllb_qlearn_values(apart, (uint64_t)i, b));
        CHECK_MEM(a, b, sizeof a);
    }
    rllb_qlearn_destroy(q);
    rllb_qlearn_destroy(apart);
}

/* One fast and one slow server, 10 and 190 ms, requests to either by chance, always eight in flight. By steps of their
   own the values come to -1 and -19. With one place for "the latest" state and action, as published, a reward is booked
   right if the latest is the one that ends (1 in 8), else by chance: 9 of 16 right, and the values come to
   -1 * 9/16 - 19 * 7/16 = -8.875 and -11.125. An eighth of the difference is left. */
TEST(what_the_published_code_mixes_up)
{
    enum { N = 20000, WIDE = 8 };
    rllb_qlearn_desc d = plain_desc(2, 1, 0);
    rllb_qlearn *own, *mixed;
    rllb_qlearn_step latest = step_of(0, 0), open[WIDE];
    double sum[2] = { 0, 0 };
    float v[2];
    rllb_rng rng;
    int32_t i, waiting = 0;

    d.gamma = RLLB_OFF;
    d.alpha = 0.02f;
    own = rllb_qlearn_create(&d);
    mixed = rllb_qlearn_create(&d);
    REQUIRE(own != NULL && mixed != NULL);
    rllb_rng_init(&rng, 4, 0);
    for (i = 0; i < N; i++) {
        int32_t which = rllb_rng_below(&rng, WIDE);
        rllb_qlearn_step ending;
        while (waiting < WIDE) {
            latest = rllb_qlearn_begin(own, rllb_rng_below(&rng, 2));
            open[waiting++] = latest;
        }
        ending = open[which];
        open[which] = open[--waiting];
        rllb_qlearn_done(own, &ending, ending.action ? 0.19 : 0.01, RLLB_OUTCOME_OK);
        rllb_qlearn_done(mixed, &latest, ending.action ? 0.19 : 0.01, RLLB_OUTCOME_OK);
        if (i < N / 2) continue;
        rllb_qlearn_values(mixed, 0, v);
        sum[0] += (double)v[0] / (N / 2);
        sum[1] += (double)v[1] / (N / 2);
    }
    rllb_qlearn_values(own, 0, v);
    NOTE("by own steps %.2f and %.2f; by the latest %.2f and %.2f", (double)v[0], (double)v[1], sum[0], sum[1]);
    CHECK_NEAR(v[0], -1, 1e-3);
    CHECK_NEAR(v[1], -19, 1e-3);
    CHECK_NEAR(sum[0], -8.875, 0.7); /* the mean of 5,000 rewards of standard deviation 9: 0.13 */
    CHECK_NEAR(sum[1], -11.125, 0.7);
    rllb_qlearn_destroy(own);
    rllb_qlearn_destroy(mixed);
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

TEST(dense_and_hashed_are_one)
{
    rllb_qlearn_desc d = desc_of(4);
    rllb_qlearn *dense, *hashed;
    rllb_rng rng;
    int32_t i;

    d.epsilon = 0.5f;
    dense = rllb_qlearn_create(&d);
    d.entries = 1024;
    hashed = rllb_qlearn_create(&d);
    REQUIRE(dense != NULL && hashed != NULL);
    CHECK(info_of(dense).dense && !info_of(hashed).dense);
    rllb_rng_init(&rng, 5, 0);
    for (i = 0; i < 20000; i++) {
        float metrics[3], v[4], w[4];
        int32_t k, server = rllb_rng_below(&rng, 4), chosen;
        double elapsed_s = rllb_rng_double(&rng);
        rllb_qlearn_step step;
        for (k = 0; k < 3; k++) metrics[k] = rllb_rng_range(&rng, 0, k == 0 ? 110.0f : k == 1 ? 12.0f : 230.0f);
        rllb_qlearn_observe(dense, server, metrics);
        rllb_qlearn_observe(hashed, server, metrics);
        chosen = rllb_qlearn_choose(dense, NULL, 4);
        CHECK_EQ_I(rllb_qlearn_choose(hashed, NULL, 4), chosen);
        step = rllb_qlearn_begin(dense, chosen);
        rllb_qlearn_done(dense, &step, elapsed_s, RLLB_OUTCOME_OK);
        rllb_qlearn_done(hashed, &step, elapsed_s, RLLB_OUTCOME_OK);
        CHECK_EQ_U(rllb_qlearn_values(hashed, step.state, v), rllb_qlearn_values(dense, step.state, w));
        CHECK_MEM(v, w, sizeof v);
    }
    CHECK_EQ_U(info_of(hashed).replaced, 0);
    CHECK_EQ_U(info_of(hashed).rows, info_of(dense).rows);
    CHECK_EQ_U(info_of(hashed).unseen, info_of(dense).unseen);
    rllb_qlearn_destroy(dense);
    rllb_qlearn_destroy(hashed);
}

/* A table of 16 against 100,000 updates in 400 states. The plain statement: what is there has had exactly the updates
   since it came in, each state is in one of two buckets of eight, and of a full bucket's eight and the new one the
   least recently updated goes. */
TEST(a_full_table_gives_up_the_least_recent)
{
    enum { STATES = 400, N = 100000 };
    static double value[STATES];
    static int32_t at[STATES], visits[STATES];
    rllb_qlearn_desc d = plain_desc(1, STATES, 16);
    rllb_qlearn *q;
    uint64_t came_in = 0;
    rllb_rng rng;
    int32_t i, s;

    d.gamma = 0.5f;
    d.initial = -3;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    CHECK_EQ_U(info_of(q).capacity, 16);
    rllb_rng_init(&rng, 6, 0);
    for (i = 1; i <= N; i++) {
        float reward = rllb_rng_range(&rng, -10, 0), v, ahead;
        rllb_qlearn_step step;
        uint64_t next = (uint64_t)rllb_rng_below(&rng, 20);
        int32_t older = 0, there = 0, newest = 0, gone = 0;
        s = rllb_rng_below(&rng, i % 3 ? 12 : STATES); /* some often, some hardly ever */
        step = step_of((uint64_t)s, 0);
        if (rllb_qlearn_values(q, (uint64_t)s, NULL) == 0) {
            came_in++;
            value[s] = -3;
            visits[s] = 0;
        }
        rllb_qlearn_values(q, next, &ahead); /* what it is now, should it be the one that goes */
        rllb_qlearn_update(q, &step, reward, next);
        value[s] += 0.1 * ((double)reward + 0.5 * (double)ahead - value[s]);
        at[s] = i;
        visits[s]++;
        CHECK_EQ_U(rllb_qlearn_values(q, (uint64_t)s, &v), (uint64_t)visits[s]);
        CHECK_NEAR(v, value[s], 1e-4);
        if (i % 97) continue;
        for (s = 0; s < STATES; s++) {
            uint32_t seen = rllb_qlearn_values(q, (uint64_t)s, &v);
            if (!seen) {
                CHECK_NEAR(v, -3, 0);
                if (at[s] > gone) gone = at[s];
                continue;
            }
            there++;
            newest = at[s] > newest ? at[s] : newest;
            older += at[s] < i - N / 2;
            CHECK_EQ_U(seen, (uint64_t)visits[s]);
            CHECK_NEAR(v, value[s], 1e-4);
        }
        CHECK_EQ_I(newest, i);
        CHECK_EQ_U(info_of(q).rows, (uint64_t)there);
        CHECK(there <= 16 && gone < i - 7); /* at least the eight of late that share its bucket are younger */
        CHECK_EQ_I(older, 0);
        CHECK_EQ_U(info_of(q).rows + info_of(q).replaced, came_in);
    }
    CHECK(info_of(q).replaced > 1000);
    CHECK_EQ_U(info_of(q).rows, 16);
    rllb_qlearn_destroy(q);
}

/* Twelve servers: 531,441 states, hashed by default. An answer always, never one that is not usable. */
TEST(many_servers)
{
    enum { N = 100000, SERVERS = 12 };
    rllb_qlearn_desc d = desc_of(SERVERS);
    rllb_qlearn *q = rllb_qlearn_create(&d);
    rllb_rng rng;
    int32_t i, k;

    REQUIRE(q != NULL);
    CHECK(!info_of(q).dense);
    CHECK_EQ_U(info_of(q).capacity, 65536);
    CHECK_EQ_U(info_of(q).states, 531441);
    rllb_rng_init(&rng, 8, 0);
    for (i = 0; i < N; i++) {
        float metrics[3] = { NAN, 0, 0 }, cost[SERVERS];
        rllb_qlearn_step step;
        int32_t server, usable = 0;
        metrics[1] = rllb_rng_range(&rng, 0, 15);
        metrics[2] = rllb_rng_range(&rng, 0, 300);
        rllb_qlearn_observe(q, rllb_rng_below(&rng, SERVERS), metrics);
        for (k = 0; k < SERVERS; k++) {
            cost[k] = rllb_rng_below(&rng, 3) ? rllb_rng_range(&rng, 1, 9) : INFINITY;
            usable += cost[k] < INFINITY;
        }
        server = rllb_qlearn_choose(q, cost, SERVERS);
        CHECK(usable ? server >= 0 && server < SERVERS && cost[server] < INFINITY : server == -1);
        step = rllb_qlearn_begin(q, server);
        if (server >= 0) CHECK_EQ_I(rllb_qlearn_done(q, &step, 0.1, RLLB_OUTCOME_OK), RLLB_OK);
    }
    CHECK(info_of(q).replaced > 0); /* 60,000 states in 65,536 places, eight to a bucket: some buckets are full */
    CHECK(info_of(q).rows > 30000 && info_of(q).rows <= 65536);
    rllb_qlearn_destroy(q);
}

/* ---- saved tables -------------------------------------------------------------------------------------------- */

/* The last eight bytes, so that what is changed before them is looked at. */
static void seal(unsigned char *bytes, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i + 8 < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    for (i = 0; i < 8; i++) bytes[size - 8 + i] = (unsigned char)(hash >> (8 * i) & 255);
}

static rllb_qlearn *learned(int32_t entries, uint64_t seed, int32_t requests)
{
    rllb_qlearn_desc d = desc_of(3);
    rllb_qlearn *q;
    rllb_rng rng;
    int32_t i;

    d.entries = entries;
    d.seed = seed;
    q = rllb_qlearn_create(&d);
    rllb_rng_init(&rng, seed, 1);
    for (i = 0; q && i < requests; i++) {
        float metrics[3] = { NAN, 0, 0 };
        double elapsed_s;
        rllb_qlearn_step step;
        metrics[1] = rllb_rng_range(&rng, 0, 12);
        metrics[2] = rllb_rng_range(&rng, 0, 230);
        rllb_qlearn_observe(q, rllb_rng_below(&rng, 3), metrics);
        step = rllb_qlearn_begin(q, rllb_qlearn_choose(q, NULL, 3));
        elapsed_s = rllb_rng_double(&rng);
        rllb_qlearn_done(q, &step, elapsed_s, rllb_rng_below(&rng, 9) ? RLLB_OUTCOME_OK : RLLB_OUTCOME_FAILED);
    }
    return q;
}

/* Loaded into a fresh object, the run goes on as if it had never stopped. */
TEST(saved_and_found_again)
{
    int32_t entries;

    for (entries = 0; entries <= 16; entries += 16) { /* 16: fewer than the states, so that rows have been replaced */
        rllb_qlearn *q = learned(entries, 1, 3000), *again = learned(entries, 2, 10);
        const float quiet[3] = { 0, 0, 0 };
        size_t size;
        unsigned char *bytes;
        int32_t i;
        REQUIRE(q != NULL && again != NULL);
        bytes = saved(q, &size);
        REQUIRE(bytes != NULL);
        CHECK_EQ_U(size, 144 + info_of(q).rows * (16 + 3 * 4) + 8);
        CHECK_EQ_I(rllb_qlearn_save(q, bytes, size - 1), RLLB_ERROR_MEMORY_SIZE);
        CHECK(!same_tables(q, again));
        CHECK_EQ_I(rllb_qlearn_load(again, bytes, size), RLLB_OK);
        CHECK(same_tables(q, again));
        for (i = 0; i < 3; i++) {
            rllb_qlearn_observe(q, i, quiet);
            rllb_qlearn_observe(again, i, quiet);
        }
        for (i = 0; i < 1000; i++) {
            rllb_qlearn_step step = rllb_qlearn_begin(q, rllb_qlearn_choose(q, NULL, 3));
            float metrics[3] = { NAN, (float)(i % 13), (float)(i % 31 * 9) };
            CHECK_EQ_I(rllb_qlearn_choose(again, NULL, 3), step.action);
            rllb_qlearn_observe(q, i % 3, metrics);
            rllb_qlearn_observe(again, i % 3, metrics);
            rllb_qlearn_done(q, &step, 0.01 * (i % 17), RLLB_OUTCOME_OK);
            rllb_qlearn_done(again, &step, 0.01 * (i % 17), RLLB_OUTCOME_OK);
        }
        CHECK(same_tables(q, again));
        CHECK(entries == 0 || info_of(q).replaced > 0);
        free(bytes);
        rllb_qlearn_destroy(q);
        rllb_qlearn_destroy(again);
    }
}

/* The bytes of one known table, written down: the same on every machine. */
TEST(saved_bytes)
{
    static const unsigned char head[] = { 'r', 'l', 'l', 'b', 'q', 't', 'a', 'b', 1, 0, 0, 0, 2, 0, 0, 0,
                                          0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                          2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const unsigned char rows[] = {
        3,   0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,    0,    0, 0, 0x20, 0xc1,
        255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xc0, 0x3f, 0, 0, 0,    0
    };
    rllb_qlearn_desc d = plain_desc(2, 256, 0);
    rllb_qlearn *q;
    unsigned char *bytes;
    size_t size;

    d.alpha = 1;
    d.gamma = RLLB_OFF;
    q = rllb_qlearn_create(&d);
    REQUIRE(q != NULL);
    set_value(q, 3, 1, -10);    /* 0xc1200000 */
    set_value(q, 255, 0, 1.5f); /* 0x3fc00000 */
    bytes = saved(q, &size);
    REQUIRE(bytes != NULL);
    REQUIRE(size == 144 + 2 * 24 + 8);
    CHECK_MEM(bytes, head, sizeof head);
    CHECK_EQ_U(bytes[88], 2); /* updates */
    CHECK_MEM(bytes + 144, rows, sizeof rows);
    free(bytes);
    rllb_qlearn_destroy(q);
}

/* 3,000 requests, seed 1: the checksum of what was learned, as gcc on x86-64 has it. No machine may have another. */
TEST(the_same_bits_everywhere)
{
    static const uint64_t golden[2] = { 0xfddfe7d26a99f36au, 0x7429c4de2ca06bdcu }; /* dense, hashed */
    int i;

    for (i = 0; i < 2; i++) {
        rllb_qlearn *q = learned(16 * i, 1, 3000);
        unsigned char *bytes;
        uint64_t sum = 0;
        size_t size, k;
        REQUIRE(q != NULL);
        bytes = saved(q, &size);
        REQUIRE(bytes != NULL);
        for (k = 8; k > 0; k--) sum = sum << 8 | bytes[size - 9 + k];
        CHECK_EQ_U(sum, golden[i]);
        free(bytes);
        rllb_qlearn_destroy(q);
    }
}

/* Every cut, every changed byte: refused, with the object as it was. */
TEST(broken_tables_are_refused_whole)
{
    int32_t entries;

    for (entries = 0; entries <= 64; entries += 64) {
        rllb_qlearn *q = learned(entries, 1, 300);
        rllb_qlearn *other = learned(entries, 2, 200), *before = learned(entries, 2, 200);
        unsigned char *bytes;
        size_t size, i;
        REQUIRE(q != NULL && other != NULL && before != NULL);
        bytes = saved(q, &size);
        REQUIRE(bytes != NULL);
        for (i = 0; i < size; i++) {
            rllb_status status = rllb_qlearn_load(other, bytes, i);
            CHECK_EQ_I(status, RLLB_ERROR_TRUNCATED);
            bytes[i] ^= 0x10;
            status = rllb_qlearn_load(other, bytes, size);
            CHECK(i < 8 || i >= 12 ? status == RLLB_ERROR_FORMAT || status == RLLB_ERROR_TRUNCATED
                                   : status == RLLB_ERROR_VERSION);
            bytes[i] ^= 0x10;
        }
        CHECK(same_tables(other, before));
        CHECK_EQ_I(rllb_qlearn_load(other, NULL, size), RLLB_ERROR_ARGUMENT);
        CHECK_EQ_I(rllb_qlearn_load(NULL, bytes, size), RLLB_ERROR_ARGUMENT);
        CHECK_EQ_I(rllb_qlearn_load(other, bytes, size), RLLB_OK);
        CHECK(same_tables(other, q));
        free(bytes);
        rllb_qlearn_destroy(q);
        rllb_qlearn_destroy(other);
        rllb_qlearn_destroy(before);
    }
}

/* Sealed as if they were right. */
TEST(lies_are_refused)
{
    rllb_qlearn *q = learned(0, 1, 300), *before = learned(0, 1, 300);
    size_t size, at;
    unsigned char *bytes, *lie;
    int i;

    REQUIRE(q != NULL && before != NULL);
    bytes = saved(q, &size);
    lie = (unsigned char *)malloc(size + 8);
    REQUIRE(bytes != NULL && lie != NULL);
#define LIE(change, expected)                                  \
    do {                                                       \
        memcpy(lie, bytes, size);                              \
        change;                                                \
        seal(lie, size);                                       \
        CHECK_EQ_I(rllb_qlearn_load(q, lie, size), expected);  \
    } while (0)
    LIE((void)0, RLLB_OK);
    LIE(lie[12] = 2, RLLB_ERROR_FORMAT);                    /* of two servers, rows as wide as of three */
    LIE(lie[16] = 26, RLLB_ERROR_SHAPE);                    /* states */
    LIE(lie[24] ^= 1, RLLB_ERROR_SHAPE);                    /* metrics */
    LIE(lie[32] = 1, RLLB_ERROR_SHAPE);                     /* kind */
    LIE(lie[36] = 1, RLLB_ERROR_FORMAT);                    /* zeros */
    LIE(lie[40]--, RLLB_ERROR_FORMAT);                      /* rows */
    LIE(lie[40]++, RLLB_ERROR_TRUNCATED);
    LIE(lie[47] = 0x80, RLLB_ERROR_TRUNCATED);
    LIE(memset(lie + 48, 0xff, 8), RLLB_ERROR_NOT_FINITE);  /* epsilon */
    LIE(lie[55] = 0xbf, RLLB_ERROR_FORMAT);                 /* ... below 0 */
    LIE(memset(lie + 56, 0, 32), RLLB_ERROR_FORMAT);        /* random numbers that never move */
    at = 144 + 28;
    LIE(lie[at] = 27, RLLB_ERROR_FORMAT);                   /* no such state */
    LIE(lie[at + 7] = 1, RLLB_ERROR_FORMAT);
    LIE(memcpy(lie + at, lie + 144, 28), RLLB_ERROR_FORMAT);/* twice the same */
    LIE(memset(lie + at + 12, 0, 4), RLLB_ERROR_FORMAT);    /* never met, and yet there */
    for (i = 0; i < 3; i++) LIE(memset(lie + at + 16 + 4 * i, 0xff, 4), RLLB_ERROR_NOT_FINITE);
    LIE((lie[at + 18] = 0x80, lie[at + 19] = 0x7f), RLLB_ERROR_NOT_FINITE); /* infinite, or beyond what is taken */
#undef LIE
    CHECK(same_tables(q, before));
    free(bytes);
    free(lie);
    rllb_qlearn_destroy(q);
    rllb_qlearn_destroy(before);
}

TEST(foreign_tables_are_refused)
{
    rllb_qlearn *q = learned(0, 1, 300), *other;
    rllb_qlearn_desc d;
    size_t size;
    unsigned char *bytes;
    int i;

    REQUIRE(q != NULL);
    bytes = saved(q, &size);
    REQUIRE(bytes != NULL);
    for (i = 0; i < 5; i++) {
        d = desc_of(3);
        if (i == 0) d.servers = 4;
        if (i == 1) d.entries = 32;
        if (i == 2) d.states = 27;
        if (i > 2) { /* one threshold a little different; the published ones written out */
            static const float t[3][2] = { { 50, 80 }, { 5, 10 }, { 100, 200 } };
            int k;
            d.metrics = 3;
            for (k = 0; k < 3; k++) {
                memcpy(d.metric[k].threshold, t[k], sizeof t[k]);
                d.metric[k].thresholds = 2;
            }
            if (i == 3) d.metric[2].threshold[1] = 201;
        }
        other = rllb_qlearn_create(&d);
        REQUIRE(other != NULL);
        CHECK_EQ_I(rllb_qlearn_load(other, bytes, size), i < 4 ? RLLB_ERROR_SHAPE : RLLB_OK);
        CHECK_EQ_U(info_of(other).rows, i < 4 ? 0 : info_of(q).rows);
        rllb_qlearn_destroy(other);
    }
    free(bytes);
    rllb_qlearn_destroy(q);
}

/* Hashed tables of other sizes: more room takes all, less takes all or nothing. */
TEST(tables_of_other_sizes)
{
    static const int32_t room[] = { 16, 64, 128, 512, 4096 };
    rllb_qlearn_desc d = plain_desc(2, 100000, 256);
    rllb_qlearn *q = rllb_qlearn_create(&d), *other;
    size_t size;
    unsigned char *bytes;
    float v[2], w[2];
    uint64_t s;
    int i;

    REQUIRE(q != NULL);
    for (s = 0; s < 80; s++) {
        rllb_qlearn_step step = step_of(s * 997, (int32_t)(s % 2));
        rllb_qlearn_update(q, &step, -(float)(int64_t)s, 0);
    }
    CHECK_EQ_U(info_of(q).rows, 80);
    bytes = saved(q, &size);
    REQUIRE(bytes != NULL);
    for (i = 0; i < 5; i++) {
        rllb_status status;
        d.entries = room[i];
        other = rllb_qlearn_create(&d);
        REQUIRE(other != NULL);
        status = rllb_qlearn_load(other, bytes, size);
        CHECK(status == RLLB_OK || status == RLLB_ERROR_LIMIT);
        CHECK(room[i] >= 80 || status == RLLB_ERROR_LIMIT);
        CHECK(room[i] < 512 || status == RLLB_OK);
        CHECK_EQ_U(info_of(other).rows, status == RLLB_OK ? 80 : 0);
        for (s = 0; status == RLLB_OK && s < 80; s++) {
            CHECK_EQ_U(rllb_qlearn_values(other, s * 997, v), 1);
            rllb_qlearn_values(q, s * 997, w);
            CHECK_MEM(v, w, sizeof v);
        }
        rllb_qlearn_destroy(other);
    }
    free(bytes);
    rllb_qlearn_destroy(q);
}

/* ---- in the balancer ----------------------------------------------------------------------------------------- */

/* Policy CHOOSE: a server that is down gets nothing; the table learns which of the others is fast; what the guard sends
   elsewhere is booked where it went. */
TEST(serves_a_balancer)
{
    static const double ms[3] = { 50, 75, 10 };
    rllb_qlearn_desc d = desc_of(3);
    rllb_balancer_desc bd;
    rllb_balancer *b;
    rllb_counters counters;
    rllb_server_info info;
    rllb_qlearn *q = rllb_qlearn_create(&d);
    double now_s = 0;
    int32_t i, share[3] = { 0, 0, 0 };

    REQUIRE(q != NULL);
    rllb_balancer_desc_default(&bd);
    bd.policy = RLLB_BALANCE_CHOOSE;
    bd.choose = rllb_qlearn_choose;
    bd.choose_self = q;
    bd.count = 3;
    b = rllb_balancer_create(&bd);
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_set_state(b, 2, RLLB_SERVER_DOWN, 0), RLLB_OK);
    for (i = 0; i < 4000; i++) {
        int32_t server = rllb_balancer_pick(b, 0, now_s);
        rllb_qlearn_step step = rllb_qlearn_begin(q, server);
        REQUIRE(server >= 0);
        if (i >= 2000) share[server]++;
        CHECK_EQ_I(step.action, server);
        now_s += 0.1;
        rllb_balancer_done(b, server, now_s - 1e-3 * ms[server], now_s, RLLB_OUTCOME_OK);
        CHECK_EQ_I(rllb_qlearn_done(q, &step, 1e-3 * ms[server], RLLB_OUTCOME_OK), RLLB_OK);
        rllb_balancer_tick(b, now_s);
    }
    CHECK_EQ_I(rllb_balancer_server(b, 2, &info), RLLB_OK);
    CHECK_EQ_U(info.picks, 0);
    rllb_balancer_counters(b, &counters);
    CHECK_EQ_U(counters.choose_refused, 0);
    NOTE("shares after 2,000 requests: %d and %d", (int)share[0], (int)share[1]);
    CHECK(share[0] > 1600); /* the guard's minimum share and epsilon have the rest */
    rllb_balancer_destroy(b);
    rllb_qlearn_destroy(q);
}

/* ---- traffic ------------------------------------------------------------------------------------------------- */

/* Three backends as of the published study: a request holds one of `slots` for hold_ms, in order of arrival, and then
   takes delay_ms more beside others; both give or take a tenth, evenly. */
enum { BACKENDS = 3, SLOTS_MOST = 8, PENDING_MOST = 4096, LAST = 100 };

typedef enum rule { TURNS, LEAST, LEARNED } rule;

typedef struct traffic {
    double hold_ms[BACKENDS], delay_ms[BACKENDS];
    int32_t slots;
    double rate;   /* Poisson arrivals a second, whatever happens; 0: one client that waits for each answer */
    double poll_s; /* how often metrics are looked at; 0: whenever they change */
} traffic;

typedef struct pending {
    double started_s, end_s;
    int32_t server;
    rllb_qlearn_step step;
} pending;

typedef struct farm {
    const traffic *t;
    rllb_qlearn *q;
    rllb_rng rng;
    double now_s, polled_s, free_s[BACKENDS][SLOTS_MOST], last_ms[BACKENDS][LAST];
    int32_t active[BACKENDS], ended[BACKENDS], turn, waiting;
    pending in_flight[PENDING_MOST];
    rllb_stats ms;
} farm;

/* All share a host, so nothing is said of its CPU. */
static void look_at(farm *f, int32_t server)
{
    float metrics[3] = { NAN, 0, NAN };
    int32_t i, n = f->ended[server] < LAST ? f->ended[server] : LAST;
    double sum = 0;

    for (i = 0; i < n; i++) sum += f->last_ms[server][i];
    metrics[1] = (float)f->active[server];
    if (n) metrics[2] = (float)(sum / n);
    rllb_qlearn_observe(f->q, server, metrics);
}

static void tell(farm *f, int32_t server)
{
    int32_t i;

    if (f->t->poll_s <= 0) {
        look_at(f, server);
    } else if (f->now_s >= f->polled_s + f->t->poll_s) {
        for (i = 0; i < BACKENDS; i++) look_at(f, i);
        f->polled_s = f->now_s;
    }
}

/* All that ends up to `until`, in the order of the ends. */
static void let_end(farm *f, double until_s)
{
    for (;;) {
        int32_t i, first = -1;
        pending p;
        double ms;
        for (i = 0; i < f->waiting; i++) {
            if (first < 0 || f->in_flight[i].end_s < f->in_flight[first].end_s) first = i;
        }
        if (first < 0 || f->in_flight[first].end_s > until_s) return;
        p = f->in_flight[first];
        f->in_flight[first] = f->in_flight[--f->waiting];
        f->now_s = p.end_s;
        ms = 1e3 * (p.end_s - p.started_s);
        f->last_ms[p.server][f->ended[p.server]++ % LAST] = ms;
        f->active[p.server]--;
        tell(f, p.server);
        rllb_stats_add(&f->ms, ms);
        rllb_qlearn_done(f->q, &p.step, p.end_s - p.started_s, RLLB_OUTCOME_OK);
    }
}

static int32_t decide(farm *f, rule by)
{
    float cost[BACKENDS];
    int32_t i, ties = 0, best = 0;

    for (i = 0; i < BACKENDS; i++) cost[i] = (float)(f->active[i] + 1);
    if (by == LEARNED) return rllb_qlearn_choose(f->q, cost, BACKENDS);
    if (by == TURNS) return f->turn++ % BACKENDS;
    for (i = 0; i < BACKENDS; i++) {
        if (f->active[i] < f->active[best]) ties = 0;
        if (!ties || f->active[i] == f->active[best]) {
            if (rllb_rng_below(&f->rng, ++ties) == 0) best = i;
        }
    }
    return best;
}

static void request(farm *f, rule by)
{
    pending *p = &f->in_flight[f->waiting++];
    int32_t i, slot = 0;
    double *free_s, hold_s, delay_s, start_s;

    p->server = decide(f, by);
    p->step = rllb_qlearn_begin(f->q, p->server);
    p->started_s = f->now_s;
    free_s = f->free_s[p->server];
    for (i = 1; i < f->t->slots; i++) {
        if (free_s[i] < free_s[slot]) slot = i;
    }
    hold_s = 1e-3 * f->t->hold_ms[p->server] * (0.9 + 0.2 * rllb_rng_double(&f->rng));
    delay_s = 1e-3 * f->t->delay_ms[p->server] * (0.9 + 0.2 * rllb_rng_double(&f->rng));
    start_s = free_s[slot] > f->now_s ? free_s[slot] : f->now_s;
    free_s[slot] = start_s + hold_s;
    p->end_s = free_s[slot] + delay_s;
    f->active[p->server]++;
    tell(f, p->server);
}

/* `before` requests to learn from, then `count` whose mean, in ms, is the answer. */
static double mean_ms(const traffic *t, const rllb_qlearn_desc *desc, rule by, int32_t before, int32_t count,
                      uint64_t seed)
{
    static farm f;
    rllb_qlearn_desc d = *desc;
    int32_t i;

    memset(&f, 0, sizeof f);
    d.servers = BACKENDS;
    d.seed = seed;
    f.t = t;
    f.q = rllb_qlearn_create(&d);
    rllb_rng_init(&f.rng, seed, 1);
    for (i = 0; f.q && i < before + count; i++) {
        if (i == before) memset(&f.ms, 0, sizeof f.ms);
        if (t->rate > 0) {
            double at_s = f.now_s + rllb_rng_exponential(&f.rng, 1 / t->rate);
            let_end(&f, at_s);
            f.now_s = at_s;
        } else {
            let_end(&f, 1e12);
        }
        if (f.waiting < PENDING_MOST) request(&f, by);
    }
    let_end(&f, 1e12);
    rllb_qlearn_destroy(f.q);
    return f.ms.mean;
}

/* Mean over eight seeds, 1,000 requests each. */
static rllb_stats over_seeds(const traffic *t, const rllb_qlearn_desc *d, rule by, int32_t before)
{
    rllb_stats s;
    uint64_t seed;

    memset(&s, 0, sizeof s);
    for (seed = 1; seed <= 8; seed++) rllb_stats_add(&s, mean_ms(t, d, by, before, 1000, seed));
    return s;
}

/* Seed traffic of the published study on its three backends, as far as they are what its text says: delays, no queues.
   The bound is the project's own goal, for each seed by itself; the same for the requests it learns from. Least
   connections sees next to nothing at ten requests a second, so here it is the worse rule. */
TEST(faster_than_turns_once_learned)
{
    static const traffic t = { { 50, 75, 100 }, { 0, 0, 0 }, 8, 10, 0 };
    rllb_qlearn_desc d = desc_of(BACKENDS);
    rllb_stats turns, least, q, first;
    uint64_t seed;

    for (seed = 1; seed <= 8; seed++) {
        CHECK(mean_ms(&t, &d, LEARNED, 3000, 1000, seed) < 0.85 * mean_ms(&t, &d, TURNS, 3000, 1000, seed));
    }
    turns = over_seeds(&t, &d, TURNS, 3000);
    least = over_seeds(&t, &d, LEAST, 3000);
    q = over_seeds(&t, &d, LEARNED, 3000);
    first = over_seeds(&t, &d, LEARNED, 0);
    NOTE("ms: in turn %.1f, least connections %.1f, Q-learning %.1f +- %.1f, its first 1,000 requests %.1f", turns.mean,
         least.mean, q.mean, rllb_stats_ci95(&q), first.mean);
    CHECK_NEAR(turns.mean, 75, 0.3);
    CHECK(q.mean < 0.72 * turns.mean);
    CHECK(q.mean < least.mean);
    CHECK(first.mean < 0.85 * turns.mean);
    d.initial = -75; /* neutral: a mid server's -7.5 / (1 - 0.9). Less is spent on trying */
    first = over_seeds(&t, &d, LEARNED, 0);
    NOTE("with neutral initial values its first 1,000 requests: %.1f", first.mean);
    CHECK(first.mean < 0.8 * turns.mean);
}

/* What the published code does besides: each request blocks its backend for 100 ms, one after the other, and the one
   client waits for each answer. In turn that is 175 ms and the fastest backend 150, so 14.3 % is the most that any rule
   can gain there; the published run says 185 and 163, 12 %. */
TEST(the_published_run)
{
    static const traffic t = { { 100, 100, 100 }, { 50, 75, 100 }, 1, 0, 0 };
    rllb_qlearn_desc d = desc_of(BACKENDS);
    rllb_stats turns = over_seeds(&t, &d, TURNS, 3000), q = over_seeds(&t, &d, LEARNED, 3000);

    NOTE("ms: in turn %.1f, Q-learning %.1f: %.1f %% less", turns.mean, q.mean, 100 * (1 - q.mean / turns.mean));
    CHECK_NEAR(turns.mean, 175, 0.5);
    CHECK_NEAR(q.mean, 151, 1.2);
}

/* The gap. The same blocking backends under the same ten requests a second, but from clients that do not wait for each
   other: all arrivals go to one backend until its numbers cross a threshold, its queue builds up, and the mean of the
   last hundred times keeps it at the worst level long after. Everything is worse than taking turns. Metrics polled once
   a second, as published, make it no better; nor does seeing each change. */
TEST(requests_pile_up_where_servers_queue)
{
    static const traffic open = { { 100, 100, 100 }, { 50, 75, 100 }, 1, 10, 0 };
    static const traffic polled = { { 100, 100, 100 }, { 50, 75, 100 }, 1, 10, 1 };
    static const traffic busy = { { 50, 75, 100 }, { 0, 0, 0 }, 4, 120, 0 }; /* 0.69 of what they can take */
    static const traffic *const all[] = { &open, &polled, &busy };
    rllb_qlearn_desc d = desc_of(BACKENDS);
    int i;

    for (i = 0; i < 3; i++) {
        rllb_stats turns = over_seeds(all[i], &d, TURNS, 3000), least = over_seeds(all[i], &d, LEAST, 3000);
        rllb_stats q = over_seeds(all[i], &d, LEARNED, 3000);
        NOTE("ms: in turn %.0f, least connections %.0f, Q-learning %.0f +- %.0f", turns.mean, least.mean, q.mean,
             rllb_stats_ci95(&q));
        CHECK(q.mean > (i < 2 ? 2 : 1.1) * least.mean);
        CHECK(i == 2 || q.mean > 2 * turns.mean);
    }
}
