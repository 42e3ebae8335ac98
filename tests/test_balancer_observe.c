/* test_balancer_observe.c - what the balancer observes and what an interval was worth

   Reservoirs against Algorithm 2's expectation, features against plain sums over the samples the block holds, rewards
   against fairness of these features and means of durations. */

#define RLLB_STATIC
#include "test_balancer.h"

/* ---- observations ------------------------------------------------------------------------------------------ */

TEST(tick_once_per_interval)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b;
    int32_t i, works = 0;

    d.interval_s = 0.5f;
    d.slots = 4;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    for (i = 1; i <= 1000; i++) works += rllb_balancer_tick(b, 0.01 * i);
    CHECK(works >= 19 && works <= 20);
    CHECK(!rllb_balancer_tick(b, 10));
    CHECK(rllb_balancer_tick(b, 1000)); /* a long pause is one interval, not two thousand */
    CHECK(!rllb_balancer_tick(b, 1000.1));
    rllb_balancer_destroy(b);
}

TEST(observe_without_slots)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b = rllb_balancer_create(&d);
    int32_t n = 7;

    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.5, 1));
    rllb_balancer_tick(b, 1);
    rllb_balancer_tick(b, 2);
    CHECK(rllb_balancer_observe(b, &n) == NULL);
    CHECK_EQ_I(n, 0);
    CHECK(isnan(rllb_balancer_reward(b)));
    CHECK(rllb_balancer_sample(b, 0, 1, 2) == RLLB_OK || rllb_balancer_sample(b, 0, 1, 2) == RLLB_ERROR_STATE);
    rllb_balancer_destroy(b);
}

/* One slot holds the newest sample for certain: every feature is known exactly. */
TEST(features_of_one_sample)
{
    const float *o;
    double age = 2, kept = pow((double)0.9f, age);
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_balancer *b;
    int32_t i;

    d.slots = 1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    CHECK(request(b, 0, 9, 9.5));
    CHECK(request(b, 0, 0.5, 10));
    for (i = 0; i < 3; i++) CHECK(send_to(b, 0, 10));
    CHECK(send_to(b, 2, 12));
    CHECK_EQ_I(rllb_balancer_sample(b, 2, 0.25, 12), RLLB_OK);
    o = tick_and_observe(b, 12, 18);
    REQUIRE(o != NULL);
    CHECK_NEAR(o[0], 3, 0);
    CHECK_NEAR(o[1], 0.5, 1e-6);
    CHECK_NEAR(o[2], 0.5, 1e-6);
    CHECK_NEAR(o[3], 0, 1e-6);
    CHECK_NEAR(o[4], 0.5 * kept, 1e-6);
    CHECK_NEAR(o[5], 0.5 * kept, 1e-6);
    for (i = 6; i < 12; i++) CHECK_NEAR(o[i], 0, 0); /* no samples */
    CHECK_NEAR(o[13], 0.25, 1e-6);
    CHECK_NEAR(o[16], 0.25, 1e-6); /* just now: nothing decayed */
    rllb_balancer_destroy(b);
}

/* 16 + 11 a server: the mean over servers of each of the eleven, five of the times between arrivals, the servers. */
TEST(features_neurips_layout)
{
    const float *o;
    double kept = pow(0.5, 1);
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b;
    int32_t i, k;

    d.slots = 1;
    d.discount = 0.5f;
    d.features = RLLB_FEATURES_NEURIPS;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    CHECK(request(b, 0, 0.5, 8));
    CHECK(request(b, 1, 0.25, 8));
    CHECK(send_to(b, 1, 8));
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 8.5), 0);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 9), 0);
    CHECK_EQ_I(rllb_balancer_sample(b, 1, 2, 9), RLLB_OK); /* T, not C */
    o = tick_and_observe(b, 9, 16 + 22);
    REQUIRE(o != NULL);
    CHECK_NEAR(o[16], 2, 0);
    CHECK_NEAR(o[27], 1, 0);
    { /* server 0: one flow ended a second ago */
        const double t[5] = { 0.5, 0, 0.5, 0.5, 0.5 * kept };
        for (i = 0; i < 5; i++) CHECK_NEAR(o[17 + i], t[i], 1e-6);
        for (i = 0; i < 5; i++) CHECK_NEAR(o[22 + i], t[i], 1e-6);
    }
    { /* server 1: T saw one still running, C only what ended */
        const double t[5] = { 2, 0, 2, 2, 2 }, c[5] = { 0.25, 0, 0.25, 0.25, 0.25 * kept };
        for (i = 0; i < 5; i++) CHECK_NEAR(o[28 + i], t[i], 1e-6);
        for (i = 0; i < 5; i++) CHECK_NEAR(o[33 + i], c[i], 1e-6);
    }
    for (i = 0; i < 11; i++) CHECK_NEAR(o[i], ((double)o[16 + i] + (double)o[27 + i]) / 2, 1e-6);
    for (k = 0; k < 5; k++) CHECK_NEAR(o[11 + k], k == 1 ? 0 : 0.5, 1e-6); /* half a second apart, just now */
    rllb_balancer_destroy(b);
}

/* The six, the unloaded duration, the weight over the mean weight. */
TEST(features_own_layout)
{
    const float *o, *six;
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b, *same;
    double now = 0;
    int32_t i;

    d.slots = 128;
    same = rllb_balancer_create(&d);
    d.features = RLLB_FEATURES_OWN;
    b = rllb_balancer_create(&d);
    REQUIRE(b && same);
    CHECK_EQ_I(rllb_balancer_set_weight(b, 1, 3, 0), RLLB_OK);
    for (i = 0; i < 2000; i++, now += 0.1) {
        CHECK(request(b, 0, i % 5 ? 0.4 : 0.2, now));
        CHECK(request(same, 0, i % 5 ? 0.4 : 0.2, now));
        rllb_balancer_tick(b, now);
        rllb_balancer_tick(same, now);
    }
    o = tick_and_observe(b, now + 1, 16);
    six = tick_and_observe(same, now + 1, 12);
    REQUIRE(o && six);
    CHECK_MEM(o, six, 6 * sizeof *o);
    CHECK(o[6] > 0.25f && o[6] < 0.36f); /* the mean is .36, the least .2 */
    CHECK_NEAR(o[6], info_of(b, 0).unloaded_s, 1e-6);
    CHECK_NEAR(o[7], 0.5, 1e-6);
    CHECK_NEAR(o[14], 0, 0);
    CHECK_NEAR(o[15], 1.5, 1e-6);
    rllb_balancer_destroy(b);
    rllb_balancer_destroy(same);
}

/* The samples that are in a server's reservoirs, as the block holds them: time in 1024ths of a second, then a float. */
static int32_t samples_of(const rllb_balancer *b, const uint64_t *slots, int32_t server, double now, double *v,
                          double *age)
{
    uint32_t ticks = (uint32_t)(int64_t)(now * 1024);
    int32_t w, i, n = 0;

    for (w = 0; w < b->workers; w++) {
        for (i = 0; i < b->lane_slots; i++) {
            uint64_t word = slots[((size_t)w * (size_t)b->stride + (size_t)server) * (size_t)b->lane_slots + (size_t)i];
            uint32_t bits = (uint32_t)word;
            float value;
            if (!word) continue;
            memcpy(&value, &bits, sizeof value);
            v[n] = (double)value;
            age[n++] = (double)(int32_t)(ticks - (uint32_t)(word >> 32)) / 1024;
        }
    }
    return n;
}

/* mean, deviation, P90, discounted mean, decayed mean, decayed P90, plainly. */
static void plain_six(double *v, const double *age, int32_t n, double discount, double out[6])
{
    double decayed[512], sum = 0, squares = 0, weight = 0, weighed = 0;
    int32_t i;

    memset(out, 0, 6 * sizeof *out);
    if (n < 1) return;
    for (i = 0; i < n; i++) {
        double keep = pow(discount, age[i]);
        decayed[i] = v[i] * keep;
        sum += v[i];
        weighed += decayed[i];
        weight += keep;
    }
    for (i = 0; i < n; i++) squares += (v[i] - sum / n) * (v[i] - sum / n);
    out[0] = sum / n;
    out[1] = sqrt(squares / n);
    out[2] = plain_quantile(v, n, 0.9);
    out[3] = weighed / weight;
    out[4] = weighed / n;
    out[5] = plain_quantile(decayed, n, 0.9);
}

/* All features of random traffic of one or several workers, with servers that have no samples, few, or all they can. */
static void check_features(rllb_features features, bool empty_as_zero, int32_t slots, bool several)
{
    static const int32_t per[3] = { 6, 11, 8 };
    int32_t i, j, k, n = 5, seen = 4, lanes = several ? HANDLES : 1;
    double mean[11] = { 0 }, v[512], age[512], six[6], now = 50;
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, n);
    rllb_balancer *b, *one = NULL;
    const float *o;
    rllb_rng r;
    block shared;

    memset(&shared, 0, sizeof shared);
    d.slots = slots;
    d.features = features;
    d.empty_as_zero = empty_as_zero;
    d.discount = 0.8f;
    rllb_rng_init(&r, 31, (uint64_t)slots);
    if (several) CHECK(block_open_as(&shared, &d));
    else one = rllb_balancer_create(&d);
    b = several ? shared.worker[0] : one;
    if (!b) return;
    rllb_balancer_tick(b, now);
    for (i = 0; i < 400; i++, now += 0.02 * rllb_rng_double(&r)) {
        rllb_balancer *w = several ? shared.worker[rllb_rng_below(&r, HANDLES)] : b;
        int32_t s = (int32_t)(4 * pow(rllb_rng_double(&r), 2)); /* 0 often, 3 seldom, 4 never */
        CHECK(request(w, s, 0.01 * exp(3 * rllb_rng_double(&r)), now));
        if (i % 3 == 0) {
            CHECK(send_to(w, s, now));
            CHECK_EQ_I(rllb_balancer_sample(w, s, rllb_rng_double(&r), now), RLLB_OK);
        }
    }
    CHECK_EQ_I(rllb_balancer_remove(b, 1, now), RLLB_OK);
    o = tick_and_observe(b, now + 1, n * per[features] + (features == RLLB_FEATURES_NEURIPS ? 16 : 0));
    if (!o) return;
    if (features == RLLB_FEATURES_NEURIPS) o += 16;
    for (j = 0; j < n; j++, o += per[features]) {
        double want[11] = { 0 };
        if (j == 1) { /* nobody is there */
            for (k = 0; k < per[features]; k++) CHECK_NEAR(o[k], 0, 0);
            continue;
        }
        k = samples_of(b, b->slots, j, now + 1, v, age);
        if (j == 0) CHECK(k > slots / 2);
        while (empty_as_zero && k < lanes * b->lane_slots) v[k] = age[k] = 0, k++;
        plain_six(v, age, k, (double)0.8f, six);
        want[0] = (double)in_flight(b, j);
        if (features == RLLB_FEATURES_NEURIPS) {
            memcpy(want + 1, six, 5 * sizeof *six);
            k = samples_of(b, b->ends, j, now + 1, v, age);
            while (empty_as_zero && k < lanes * b->lane_slots) v[k] = age[k] = 0, k++;
            plain_six(v, age, k, (double)0.8f, six);
            memcpy(want + 6, six, 5 * sizeof *six);
        } else {
            static const int32_t order[5] = { 0, 2, 1, 4, 5 };
            for (k = 0; k < 5; k++) want[1 + k] = six[order[k]];
            want[6] = (double)info_of(b, j).unloaded_s;
            want[7] = (double)info_of(b, j).weight_in_force;
        }
        for (k = 0; k < per[features]; k++) {
            NOTE("features %d, %d slots, %s, server %d, number %d", (int)features, (int)slots,
                 empty_as_zero ? "empty as zero" : "empty not counted", (int)j, (int)k);
            CHECK_NEAR(o[k], want[k], 1e-5 * (1 + fabs(want[k])));
            if (k < 11) mean[k] += want[k] / seen;
        }
    }
    if (features == RLLB_FEATURES_NEURIPS) {
        o -= 16 + n * per[features];
        for (k = 0; k < 11; k++) CHECK_NEAR(o[k], mean[k], 1e-5 * (1 + fabs(mean[k])));
    }
    if (several) block_close(&shared);
    else rllb_balancer_destroy(one);
}

TEST(features_plainly)
{
    static const int32_t slots[5] = { 1, 7, 16, 33, 128 };
    int32_t features, i, several;

    for (features = 0; features < RLLB_FEATURES_NUM; features++) {
        for (i = 0; i < 5; i++) {
            for (several = 0; several < 2; several++) {
                check_features((rllb_features)features, false, slots[i], several != 0);
                check_features((rllb_features)features, true, slots[i], several != 0);
            }
        }
    }
}

/* The unloaded duration: found within seconds, falls with the durations within a minute, and a minute of congestion
   lifts it by hardly a twentieth. */
TEST(unloaded_duration)
{
    static const struct {
        double duration, least, most;
    } minutes[4] = { { 0.2, 0.196, 0.202 }, { 0.6, 0.196, 0.212 }, { 0.05, 0.0485, 0.0505 }, { 0.5, 0.0485, 0.053 } };
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b;
    int32_t minute, i;
    double now = 0;

    d.slots = 128;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (minute = 0; minute < 4; minute++) {
        for (i = 0; i < 1200; i++, now += 0.05) {
            CHECK(request(b, 1, minutes[minute].duration, now));
            rllb_balancer_tick(b, now);
        }
        NOTE("after a minute of %g s: %.4f s", minutes[minute].duration, (double)info_of(b, 1).unloaded_s);
        CHECK(info_of(b, 1).unloaded_s >= (float)minutes[minute].least);
        CHECK(info_of(b, 1).unloaded_s <= (float)minutes[minute].most);
    }
    CHECK_NEAR(info_of(b, 0).unloaded_s, 0, 0);
    rllb_balancer_destroy(b);
}

/* Algorithm 2: with one sample each 1 / lambda, of those offered T ago p ((K - p) / K)^(lambda T) are still there. Each
   server has a reservoir of its own; server i counts the samples of one band of ages, which alone are 1 and not 0: the
   mean over all slots, empty ones counted, says how many there are. */
enum { BANDS = 8, REPLICAS = 20 };

static double reservoir_z(double lambda, float p, int32_t slots, double seconds, uint64_t seed, double *expected_all)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, BANDS * REPLICAS);
    int32_t offers = (int32_t)(lambda * seconds + 0.5), i, k, n = BANDS * REPLICAS, observed;
    double expected[BANDS] = { 0 }, variance[BANDS] = { 0 }, worst = 0;
    rllb_balancer *b;
    const float *o;

    d.slots = slots;
    d.keep = p;
    d.seed = seed;
    d.empty_as_zero = true;
    b = rllb_balancer_create(&d);
    CHECK(b != NULL);
    if (!b) return INFINITE;
    rllb_balancer_tick(b, 0);
    for (i = 0; i < n; i++) CHECK(send_to(b, i, 1));
    for (k = offers - 1; k >= 0; k--) { /* k / lambda: its age at the end */
        double share = (double)p * pow((slots - (double)p) / slots, k);
        int32_t band = (int32_t)((int64_t)k * BANDS / offers);
        expected[band] += share * REPLICAS;
        variance[band] += share * (1 - share) * REPLICAS;
        for (i = 0; i < n; i++) {
            double value = i % BANDS == band ? 1 : 0;
            if (rllb_balancer_sample(b, i, value, 1 + (offers - k) / lambda) != RLLB_OK) return INFINITE;
        }
    }
    CHECK(rllb_balancer_tick(b, 2 + seconds));
    o = rllb_balancer_observe(b, &observed);
    CHECK(o && observed == 6 * n);
    for (k = 0, *expected_all = 0; o && k < BANDS; k++) {
        double count = 0, z;
        for (i = k; i < n; i += BANDS) count += (double)o[6 * i + 1] * slots;
        *expected_all += expected[k] / REPLICAS;
        if (expected[k] < 1) CHECK(count < 20); /* as good as none */
        z = fabs(count - expected[k]) / sqrt(variance[k] + 0.01);
        if (expected[k] >= 5 && z > worst) worst = z;
    }
    rllb_balancer_destroy(b);
    return worst;
}

TEST(reservoir_ages)
{
    static const double lambdas[2] = { 20, 80 }, seconds[3] = { 0.8, 4, 16 };
    static const float keep[3] = { 0.05f, 0.5f, 1 };
    static const int32_t slots[4] = { 1, 8, 32, 128 };
    int32_t l, p, k, t;
    double kept, worst = 0;

    for (l = 0; l < 2; l++) {
        for (p = 0; p < 3; p++) {
            for (k = 0; k < 4; k++) {
                for (t = 0; t < 3; t++) {
                    double z = reservoir_z(lambdas[l], keep[p], slots[k], seconds[t], (uint64_t)(l + 1000 * t), &kept);
                    NOTE("lambda %g, p %g, K %d, T %g: %.1f samples expected, worst band off by %.1f sigma", lambdas[l],
                         (double)keep[p], (int)slots[k], seconds[t], kept, z);
                    CHECK(z < 5);
                    if (z > worst) worst = z;
                }
            }
        }
    }
    NOTE("worst of all: %.2f sigma", worst);
    CHECK(worst > 0.5); /* it is chance, after all */
}

/* ---- rewards ----------------------------------------------------------------------------------------------- */

/* The chosen field of every server that has samples. */
static int32_t fields_of(const float *o, int32_t servers, int32_t field, const bool *has, float *out)
{
    int32_t i, n = 0;

    for (i = 0; i < servers; i++) {
        if (has[i]) out[n++] = o[6 * i + field - 1];
    }
    return n;
}

/* Each fairness form of each field, smoothed as in Eq. 18: the newest field has nine tenths, that before the rest. */
TEST(rewards_of_fairness)
{
    int32_t kind, field, round, i;

    for (kind = 0; kind < RLLB_FAIRNESS_NUM; kind++) {
        for (field = 1; field <= 6; field++) {
            rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 4);
            static const bool has[4] = { true, true, false, true }; /* server 2 never gets a sample */
            float now[4] = { 0 }, before[4] = { 0 }, mixed[4];
            rllb_balancer *b;
            rllb_rng r;
            d.slots = 16;
            d.reward = (rllb_reward)kind;
            d.reward_field = field;
            b = rllb_balancer_create(&d);
            REQUIRE(b != NULL);
            rllb_rng_init(&r, 9, 9);
            CHECK(isnan(rllb_balancer_reward(b)));
            rllb_balancer_tick(b, 0);
            for (round = 1; round <= 3; round++) {
                const float *o;
                int32_t n;
                for (i = 0; i < 30; i++) {
                    int32_t s = i % 3 == 2 ? 3 : i % 3;
                    CHECK(request(b, s, 0.1 * (s + 1) * (0.5 + rllb_rng_double(&r)), round - 0.01 * i));
                }
                for (i = 0; i < 4; i++) CHECK(send_to(b, i % 2, round));
                o = tick_and_observe(b, round, 24);
                REQUIRE(o != NULL);
                memcpy(before, now, sizeof before);
                n = fields_of(o, 4, field, has, now);
                for (i = 0; i < n; i++) {
                    mixed[i] = round == 1 ? now[i] : (float)(0.1 * (double)before[i] + 0.9 * (double)now[i]);
                }
                NOTE("kind %d, field %d, round %d", (int)kind, (int)field, (int)round);
                CHECK_REL(rllb_balancer_reward(b), rllb_fairness((rllb_fairness_kind)kind, mixed, n), 1e-5);
            }
            rllb_balancer_destroy(b);
        }
    }
}

/* Minus the mean of the durations, or of their logarithms, of the flows that ended in the interval. */
TEST(rewards_of_durations)
{
    int32_t kind, round, i;

    for (kind = 0; kind < 2; kind++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
        double before = 0;
        rllb_balancer *b;
        rllb_rng r;
        d.slots = 4; /* fewer than flows: the reward forgets none */
        d.reward = kind ? RLLB_REWARD_MEAN_LOG : RLLB_REWARD_MEAN;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        rllb_rng_init(&r, 10, 9);
        rllb_balancer_tick(b, 0);
        for (round = 1; round <= 3; round++) {
            double sum = 0;
            for (i = 0; i < 50; i++) {
                double duration = 0.05 * exp(3 * rllb_rng_double(&r));
                CHECK(request(b, i % 3, duration, round));
                sum -= kind ? log(duration) : duration;
            }
            CHECK(send_to(b, 0, round));
            CHECK_EQ_I(rllb_balancer_sample(b, 0, 100, round), RLLB_OK); /* it has not ended */
            CHECK(rllb_balancer_tick(b, round));
            NOTE("kind %d, round %d", (int)kind, (int)round);
            CHECK_REL(rllb_balancer_reward(b), round == 1 ? sum / 50 : 0.9 * sum / 50 + 0.1 * before, 1e-5);
            before = sum / 50;
        }
        CHECK(rllb_balancer_tick(b, 5)); /* nothing ended: what was before has all the weight */
        CHECK_REL(rllb_balancer_reward(b), before, 1e-5);
        CHECK(rllb_balancer_tick(b, 6));
        CHECK_REL(rllb_balancer_reward(b), before, 1e-5);
        CHECK(request(b, 0, 2, 7) && rllb_balancer_tick(b, 7));
        CHECK_REL(rllb_balancer_reward(b), 0.1 * before - 0.9 * (kind ? log(2) : 2), 1e-5);
        rllb_balancer_destroy(b);
    }
}

/* Several balancers: durations of the flows of all; the mean of the fairness of each; fairness of the mean fields. */
TEST(rewards_shared)
{
    static const double last[2][3] = { { 0.2, 0.3, 0.4 }, { 1, 0.1, 0.2 } };
    static const bool all[3] = { true, true, true };
    int32_t kind, i, k;

    for (kind = 0; kind < 4; kind++) {
        static const rllb_reward kinds[4] = { RLLB_REWARD_JAIN, RLLB_REWARD_VARIANCE, RLLB_REWARD_MEAN,
                                              RLLB_REWARD_MEAN_LOG };
        double own = 0, sum = 0, flows = 0;
        rllb_balancer *b[2];
        float fields[2][3], mean[3];
        for (k = 0; k < 2; k++) {
            rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
            const float *o;
            d.slots = 8;
            d.reward = kinds[kind];
            b[k] = rllb_balancer_create(&d);
            REQUIRE(b[k] != NULL);
            rllb_balancer_tick(b[k], 0);
            for (i = 0; i < 3 + 6 * k; i++) { /* one has three times the flows of the other */
                double duration = last[k][i % 3];
                CHECK(request(b[k], i % 3, duration, 1));
                sum -= kinds[kind] == RLLB_REWARD_MEAN ? duration : log(duration);
                flows++;
            }
            o = tick_and_observe(b[k], 1.5, 18);
            REQUIRE(o != NULL);
            fields_of(o, 3, 5, all, fields[k]);
            own += rllb_balancer_reward(b[k]) / 2;
        }
        for (i = 0; i < 3; i++) mean[i] = (fields[0][i] + fields[1][i]) / 2;
        NOTE("kind %d", (int)kind);
        if (kinds[kind] >= RLLB_REWARD_MEAN) {
            CHECK_REL(rllb_balancer_reward_shared(b, 2, false), sum / flows, 1e-5);
            CHECK(fabs(sum / flows - own) > 1e-3); /* which is not the mean of the two */
        } else {
            CHECK_REL(rllb_balancer_reward_shared(b, 2, false), own, 1e-5);
            CHECK_REL(rllb_balancer_reward_shared(b, 2, true), rllb_fairness((rllb_fairness_kind)kinds[kind], mean, 3),
                      1e-5);
        }
        CHECK_REL(rllb_balancer_reward_shared(b, 1, false), rllb_balancer_reward(b[0]), 1e-6);
        for (k = 0; k < 2; k++) rllb_balancer_destroy(b[k]);
    }
}

/* Workers of one block: one reward over the flows of all. Balancers that reward different things share nothing. */
TEST(rewards_of_workers)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_balancer *pair[2];
    double sum = 0;
    int32_t i;
    block k;

    d.slots = 16;
    d.reward = RLLB_REWARD_MEAN;
    REQUIRE(block_open_as(&k, &d));
    rllb_balancer_tick(k.worker[0], 0);
    for (i = 0; i < 40; i++) {
        CHECK(request(k.worker[i % HANDLES], i % 3, 0.1 * (i % HANDLES + 1), 1));
        sum += 0.1 * (i % HANDLES + 1);
    }
    CHECK(rllb_balancer_tick(k.worker[2], 1)); /* whoever ticks */
    for (i = 0; i < HANDLES; i++) CHECK_REL(rllb_balancer_reward(k.worker[i]), -sum / 40, 1e-5);
    pair[0] = k.worker[0];
    d.reward = RLLB_REWARD_JAIN;
    pair[1] = rllb_balancer_create(&d);
    REQUIRE(pair[1] != NULL);
    CHECK(isnan(rllb_balancer_reward_shared(pair, 2, false)));
    rllb_balancer_destroy(pair[1]);
    pair[1] = NULL;
    CHECK(isnan(rllb_balancer_reward_shared(pair, 2, true)));
    block_close(&k);
}
