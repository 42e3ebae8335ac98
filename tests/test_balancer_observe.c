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

    for (features = 0; features < RLLB_FEATURES_RELATIVE; features++) { /* which is no sums over samples, see below */
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

/* ---- relative features --------------------------------------------------------------------------------------- */

enum { SITE = 6, PER = 9, WIDTH = 6 + PER * SITE };

/* What is known of a server, plainly. */
typedef struct known {
    double ended, sum_s; /* in this interval */
    double lived, slow, flows, before, xx, xy;
} known;

/* How far the own flows tell the duration. */
static double plain_view(double xx, double xy, double flows)
{
    return xy / (xx + 10) * (1 + flows);
}

/* Before the features of a tick: averages, and regressions of the duration's excess on the flows' excess. */
static void plain_hear(const rllb_balancer *b, known k[SITE], const bool *gone, known *all)
{
    int32_t j;

    all->xx *= 0.998;
    all->xy *= 0.998;
    for (j = 0; j < SITE; j++) {
        known *s = &k[j];
        double own = s->before - s->flows, mean = s->ended > 0 ? s->sum_s / s->ended : 0;
        if (gone[j]) continue;
        s->xx *= 0.998;
        s->xy *= 0.998;
        s->lived = fmin(40, s->lived + s->ended);
        if (s->ended > 0 && s->slow > 0) {
            double xx = s->ended * own * own, xy = s->ended * own * (mean / s->slow - 1);
            s->xx += xx;
            s->xy += xy;
            all->xx += xx;
            all->xy += xy;
            s->slow += (mean - s->slow) * fmin(1, s->ended / s->lived);
        } else if (s->ended > 0) {
            s->slow = mean;
        }
        s->before = (double)in_flight(b, j);
        s->flows += 0.05 * (s->before - s->flows);
    }
}

/* The mean logarithm of those above 0. */
static double mean_log(const double *v, const bool *gone)
{
    double sum = 0;
    int32_t j, n = 0;

    for (j = 0; j < SITE; j++) {
        if (gone[j] || !(v[j] > 0)) continue;
        sum += log(v[j]);
        n++;
    }
    return n ? sum / n : 0;
}

/* The moving average and the unloaded duration are taken from the balancer, which other tests are about. */
static void plain_relative(const rllb_balancer *b, known k[SITE], const bool *gone, known *all, double want[WIDTH])
{
    double of[4][SITE], stretch[2][SITE], means[4], q = 0, ended = 0, slow;
    int32_t j, i, servers = 0;

    plain_hear(b, k, gone, all);
    memset(want, 0, WIDTH * sizeof *want);
    for (j = 0; j < SITE; j++) {
        rllb_server_info info;
        if (gone[j]) continue;
        info = info_of(b, j);
        servers++;
        q += k[j].flows;
        ended += k[j].ended;
        of[0][j] = (double)info.duration_s;
        of[1][j] = k[j].slow;
        of[2][j] = (double)info.unloaded_s;
        of[3][j] = (double)info.weight_in_force;
        stretch[0][j] = of[2][j] > 0 ? of[1][j] / of[2][j] : 0;
        stretch[1][j] = of[2][j] > 0 ? of[0][j] / of[2][j] : 0;
    }
    for (i = 0; i < 4; i++) means[i] = mean_log(of[i], gone);
    q /= servers;
    ended /= servers;
    slow = mean_log(stretch[0], gone);
    want[0] = slow;
    want[1] = mean_log(stretch[1], gone);
    want[2] = log(1 + q);
    want[3] = plain_view(all->xx, all->xy, q);
    want[4] = log(1 + ended);
    want[5] = log2(servers) / 4;
    for (j = 0; j < SITE; j++) {
        double *x = want + 6 + PER * j, expected;
        if (gone[j]) continue;
        expected = of[2][j] * exp(slow);
        x[0] = expected > 0 ? 4 * (k[j].sum_s / expected - k[j].ended) / (k[j].ended + 8) : 0;
        for (i = 0; i < 4; i++) x[1 + i] = of[i][j] > 0 ? log(of[i][j]) - means[i] : 0;
        x[5] = log((k[j].flows + 0.1) / (q + 0.1));
        x[6] = log(1 + k[j].ended);
        x[7] = k[j].lived / (k[j].lived + 20);
        x[8] = plain_view(k[j].xx, k[j].xy, k[j].flows);
    }
    for (i = 0; i < WIDTH; i++) want[i] = fmax(-4, fmin(4, want[i])); /* small, whatever was measured */
}

/* An interval of traffic like that of a site: the more there is at a server the longer it takes there; server 4 sees
   none. order: which index of the balancer a server has; several: each request by some worker of a block. */
typedef struct site {
    rllb_balancer *worker[HANDLES];
    int32_t workers, order[SITE];
    double scale, now;
    int64_t kept[HANDLES][SITE]; /* in flight */
    rllb_rng rng;
} site;

static void site_interval(site *s, known k[SITE])
{
    int32_t i;

    for (i = 0; i < SITE; i++) k[i].ended = k[i].sum_s = 0;
    for (i = 0; i < 24; i++) {
        int32_t w = rllb_rng_below(&s->rng, s->workers), j = (int32_t)(4 * pow(rllb_rng_double(&s->rng), 2));
        double spread = exp(rllb_rng_double(&s->rng)), duration, change = rllb_rng_double(&s->rng);
        if (j == 1) j = 5; /* it goes later: it gets its flows in site_more */
        duration = s->scale * 0.01 * (j + 1) * spread * (1 + 0.2 * (double)s->kept[w][j]);
        s->now += 0.01;
        CHECK(send_to(s->worker[w], s->order[j], s->now));
        if (change < 0.2 && s->kept[w][j] < 12) {
            s->kept[w][j]++;
            continue;
        }
        if (change > 0.75 && s->kept[w][j] > 0) { /* two end */
            CHECK_EQ_I(rllb_balancer_done(s->worker[w], s->order[j], s->now - duration, s->now, RLLB_OUTCOME_OK),
                       RLLB_OK);
            k[j].ended++;
            k[j].sum_s += duration;
            s->kept[w][j]--;
        }
        CHECK_EQ_I(rllb_balancer_done(s->worker[w], s->order[j], s->now - duration, s->now, RLLB_OUTCOME_OK), RLLB_OK);
        k[j].ended++;
        k[j].sum_s += duration;
    }
    s->now += 0.02;
}

/* A request more at server 1. */
static void site_more(site *s, known k[SITE])
{
    CHECK(request(s->worker[0], s->order[1], s->scale * 0.03, s->now));
    k[1].ended++;
    k[1].sum_s += s->scale * 0.03;
}

static void site_open(site *s, rllb_balancer *b)
{
    int32_t i;

    memset(s, 0, sizeof *s);
    s->worker[0] = b;
    s->workers = 1;
    s->scale = 1;
    s->now = 10;
    for (i = 0; i < SITE; i++) s->order[i] = i;
    rllb_rng_init(&s->rng, 77, 1);
    if (b) rllb_balancer_tick(b, s->now);
}

static rllb_balancer_desc relative(void)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, SITE);

    d.features = RLLB_FEATURES_RELATIVE;
    d.slots = 1;
    d.interval_s = 0.25f;
    return d;
}

/* Tick after tick, with a server that goes in the middle, in one process and in several. */
static void check_relative(bool several)
{
    rllb_balancer_desc d = relative();
    rllb_balancer *one = NULL;
    bool gone[SITE] = { false };
    known k[SITE], all;
    double want[WIDTH], farthest = 0;
    int32_t t, i;
    block shared;
    site s;

    memset(k, 0, sizeof k);
    memset(&all, 0, sizeof all);
    memset(&shared, 0, sizeof shared);
    if (several) CHECK(block_open_as(&shared, &d));
    else one = rllb_balancer_create(&d);
    site_open(&s, several ? shared.worker[0] : one);
    if (!s.worker[0]) {
        FAIL("it can be made");
        return;
    }
    for (i = 1; several && i < HANDLES; i++) s.worker[i] = shared.worker[i];
    if (several) s.workers = HANDLES;
    CHECK_EQ_I(rllb_balancer_set_weight(s.worker[0], 2, 3, s.now), RLLB_OK);
    for (t = 0; t < 60; t++) {
        const float *o;
        site_interval(&s, k);
        if (t < 30) site_more(&s, k);
        if (t == 30) CHECK_EQ_I(rllb_balancer_remove(s.worker[0], 1, s.now), RLLB_OK);
        gone[1] = t >= 30;
        o = tick_and_observe(s.worker[0], s.now, WIDTH);
        if (!o) break;
        plain_relative(s.worker[0], k, gone, &all, want);
        for (i = 0; i < WIDTH; i++) {
            NOTE("%s, tick %d, number %d", several ? "several workers" : "one worker", (int)t, (int)i);
            CHECK_NEAR(o[i], want[i], 2e-4 * (1 + fabs(want[i])));
            farthest = fmax(farthest, fabs(want[i]));
        }
    }
    CHECK(farthest > 1.5); /* servers are told apart */
    NOTE("how far the own flows tell the duration: %.2f, server 0 %.2f", want[3], want[6 + 8]);
    CHECK(want[3] > 0.1 && want[6 + 8] > 0.1); /* where there is more it takes longer: that is seen */
    for (i = 0; i < 4; i++) CHECK_NEAR(want[6 + PER * 4 + i], 0, 0); /* of the one without samples no durations */
    if (several) block_close(&shared);
    else rllb_balancer_destroy(one);
}

TEST(relative_features_plainly)
{
    check_relative(false);
    check_relative(true);
}

/* Nothing has ended: how many servers there are is known, and their weights. */
TEST(relative_features_without_samples)
{
    rllb_balancer_desc d = relative();
    rllb_balancer *b = rllb_balancer_create(&d);
    const float *o;
    int32_t i;

    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    o = tick_and_observe(b, 1, WIDTH);
    REQUIRE(o != NULL);
    for (i = 0; i < WIDTH; i++) CHECK_NEAR(o[i], i == 5 ? log2(SITE) / 4 : 0, 1e-6);
    CHECK(isnan(rllb_balancer_reward(b)));
    CHECK_EQ_I(rllb_balancer_set_weight(b, 3, 8, 1), RLLB_OK);
    o = tick_and_observe(b, 2, WIDTH);
    REQUIRE(o != NULL);
    for (i = 0; i < SITE; i++) CHECK_NEAR(o[6 + PER * i + 4], (i == 3 ? log(8) : 0) - log(8) / SITE, 1e-5);
    rllb_balancer_destroy(b);
}

/* One sample slot by default: they need none, but a reservoir is what says that something is observed. */
TEST(relative_features_need_one_slot)
{
    rllb_balancer_desc d = relative();
    rllb_balancer *b;
    size_t small;
    int32_t n = 0;

    d.policy = RLLB_BALANCE_LEARNED;
    d.slots = 0;
    small = rllb_balancer_size(&d);
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK_EQ_I(b->desc.slots, 1);
    CHECK(rllb_balancer_observe(b, &n) != NULL);
    CHECK_EQ_I(n, WIDTH);
    rllb_balancer_destroy(b);
    d.features = RLLB_FEATURES_CIKM;
    CHECK(rllb_balancer_size(&d) > small + 100 * SITE * 8);
    d.features = RLLB_FEATURES_RELATIVE;
    d.reward_field = 2;
    CHECK_EQ_U(rllb_balancer_size(&d), 0); /* there is but one field to reward */
}

/* Two sites side by side, the other one's numbers by those of the first: durations all a thousand times as long, or the
   servers in another order. */
static void compare_sites(site *a, site *b, bool failures)
{
    int32_t t, j, i;

    for (t = 0; t < 40; t++) {
        known k[SITE];
        const float *x, *y;
        memset(k, 0, sizeof k);
        site_interval(a, k);
        site_interval(b, k);
        for (i = 0; failures && i < 2 && t % 5 == 4; i++) {
            site *s = i ? b : a;
            CHECK(send_to(s->worker[0], s->order[2], s->now));
            CHECK_EQ_I(rllb_balancer_done(s->worker[0], s->order[2], s->now - 0.02 * s->scale, s->now,
                                          RLLB_OUTCOME_FAILED), RLLB_OK);
        }
        x = tick_and_observe(a->worker[0], a->now, WIDTH);
        y = tick_and_observe(b->worker[0], b->now, WIDTH);
        if (!x || !y) return;
        for (i = 0; i < 6; i++) CHECK_NEAR(y[i], x[i], 1e-4);
        for (j = 0; j < SITE; j++) {
            NOTE("tick %d, server %d", (int)t, (int)j);
            for (i = 0; i < PER; i++) CHECK_NEAR(y[6 + PER * b->order[j] + i], x[6 + PER * j + i], 1e-4);
        }
    }
}

TEST(relative_features_are_free_of_units)
{
    rllb_balancer_desc d = relative();
    site a, b;

    site_open(&a, rllb_balancer_create(&d)); /* failures count as long as they took: that rail is off */
    site_open(&b, rllb_balancer_create(&d));
    REQUIRE(a.worker[0] && b.worker[0]);
    b.scale = 1000;
    compare_sites(&a, &b, true);
    rllb_balancer_destroy(a.worker[0]);
    rllb_balancer_destroy(b.worker[0]);
}

/* A failure counts as failure_s at least: against short durations that is long. */
TEST(relative_features_and_failures)
{
    rllb_balancer_desc d = relative();
    const float *o;
    float news[2];
    int32_t i;

    for (i = 0; i < 2; i++) {
        known k[SITE];
        int32_t t;
        site s;
        d.guard.failure_s = 1;
        d.guard.eject_failures = d.guard.eject_rate = RLLB_OFF;
        site_open(&s, rllb_balancer_create(&d));
        REQUIRE(s.worker[0] != NULL);
        s.scale = i ? 1000 : 1;
        memset(k, 0, sizeof k);
        for (t = 0; t < 30; t++) {
            site_interval(&s, k);
            if (t == 29) {
                CHECK(send_to(s.worker[0], 0, s.now));
                CHECK_EQ_I(rllb_balancer_done(s.worker[0], 0, s.now - 0.001, s.now, RLLB_OUTCOME_FAILED), RLLB_OK);
            }
            rllb_balancer_tick(s.worker[0], s.now);
        }
        o = rllb_balancer_observe(s.worker[0], NULL);
        news[i] = o[6];
        rllb_balancer_destroy(s.worker[0]);
    }
    NOTE("news of a failed flow: %.2f where flows take tens of ms, %.2f where they take tens of seconds",
         (double)news[0], (double)news[1]);
    CHECK(news[0] > 3);
    CHECK(news[1] < 1);
}

TEST(relative_features_know_no_order)
{
    static const int32_t order[SITE] = { 3, 5, 0, 4, 1, 2 };
    rllb_balancer_desc d = relative();
    site a, b;
    int32_t i;

    site_open(&a, rllb_balancer_create(&d));
    site_open(&b, rllb_balancer_create(&d));
    REQUIRE(a.worker[0] && b.worker[0]);
    memcpy(b.order, order, sizeof order);
    for (i = 0; i < SITE; i++) {
        CHECK_EQ_I(rllb_balancer_set_weight(a.worker[0], i, (float)(1 + i), a.now), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_set_weight(b.worker[0], order[i], (float)(1 + i), b.now), RLLB_OK);
    }
    compare_sites(&a, &b, false);
    rllb_balancer_destroy(a.worker[0]);
    rllb_balancer_destroy(b.worker[0]);
}

/* What is rewarded is the fairness of the moving averages, in seconds. */
TEST(rewards_of_relative_features)
{
    rllb_balancer_desc d = relative();
    known k[SITE];
    float averages[SITE];
    int32_t j, n = 0, t;
    site s;

    memset(k, 0, sizeof k);
    site_open(&s, rllb_balancer_create(&d));
    REQUIRE(s.worker[0] != NULL);
    for (t = 0; t < 10; t++) {
        site_interval(&s, k);
        rllb_balancer_tick(s.worker[0], s.now);
    }
    for (j = 0; j < SITE; j++) {
        float average = info_of(s.worker[0], j).duration_s;
        if (average > 0) averages[n++] = average;
    }
    CHECK_EQ_I(n, 4);
    CHECK_REL(rllb_balancer_reward(s.worker[0]), rllb_fairness(RLLB_FAIRNESS_JAIN, averages, n), 1e-5);
    rllb_balancer_destroy(s.worker[0]);
}

/* ---- actions that are steps ---------------------------------------------------------------------------------- */

static void check_weights(const rllb_balancer *b, const double want[4])
{
    int32_t i;

    for (i = 0; i < 4; i++) CHECK_REL(info_of(b, i).weight_in_force, want[i], 1e-4);
}

/* So many durations of servers 0 ... last: each is picked by leaving the others out. */
static void tell(rllb_balancer *b, int32_t last, int32_t count, double now_s)
{
    int32_t i, k, n, others[3];

    for (i = 0; i <= last; i++) {
        for (n = k = 0; k < 4; k++) {
            if (k != i) others[n++] = k;
        }
        for (k = 0; k < count; k++) {
            CHECK_EQ_I(rllb_balancer_pick_other(b, others, 3, now_s), i);
            CHECK_EQ_I(rllb_balancer_done(b, i, now_s, now_s, RLLB_OUTCOME_OK), RLLB_OK);
        }
    }
}

/* Weights found are multiplied, to a mean of 1, by factors to the power n / (n + 8); else they are replaced. */
TEST(steps_multiply_the_weights_found)
{
    static const float action[4] = { 4, 1, 1, 0.25f }, none[4] = { 3, 3, 3, 3 }, far[4] = { 1, 1, 1, 100 };
    static const double told[4] = { 0.4, 0.8, 1.2, 1.6 };
    static const double once[4] = { 8 / 9.0, 8 / 9.0, 12 / 9.0, 8 / 9.0 };    /* 2 2 3 2 */
    static const double twice[4] = { 16 / 10.0, 8 / 10.0, 12 / 10.0, 4 / 10.0 }; /* 4 2 3 1 */
    static const double replaced[4] = { 16 / 6.25, 4 / 6.25, 4 / 6.25, 1 / 6.25 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 4);
    rllb_balancer *b, *c;
    int32_t i;

    c = rllb_balancer_create(&d);
    d.control_steps = true;
    b = rllb_balancer_create(&d);
    REQUIRE(b && c);
    for (i = 0; i < 4; i++) {
        CHECK_EQ_I(rllb_balancer_set_weight(b, i, (float)(i + 1), 0), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_set_weight(c, i, (float)(i + 1), 0), RLLB_OK);
    }
    rllb_balancer_tick(b, 0);
    CHECK_EQ_I(rllb_balancer_act(b, action, 4, 0.05), RLLB_OK); /* nothing was heard of anybody */
    check_weights(b, told);
    tell(b, 3, 8, 0.1);
    CHECK_EQ_I(rllb_balancer_act(b, none, 4, 0.1), RLLB_OK); /* the same step for all is none */
    check_weights(b, told);
    tell(b, 3, 8, 0.2);
    CHECK_EQ_I(rllb_balancer_act(b, action, 4, 0.2), RLLB_OK);
    check_weights(b, once);
    tell(b, 3, 8, 0.3);
    CHECK_EQ_I(rllb_balancer_act(b, action, 4, 0.3), RLLB_OK);
    check_weights(b, twice);
    tell(b, 2, 8, 0.4);
    CHECK_EQ_I(rllb_balancer_act(b, far, 4, 0.4), RLLB_OK); /* nothing of the last one */
    check_weights(b, twice);
    for (i = 0; i < 2; i++) {
        CHECK_EQ_I(rllb_balancer_act(c, action, 4, 0.2 + 0.1 * i), RLLB_OK);
        check_weights(c, replaced);
    }
    rllb_balancer_destroy(b);
    rllb_balancer_destroy(c);
}

/* How far servers' weights are from each other, in logarithms, after so many steps of a controller that wants none,
   with `held` requests in flight at each server all the while. */
static double drawn_apart(uint64_t stream, float spread, int32_t held, float *weights)
{
    enum { N = 60 };
    static float steps[N];
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, N);
    double sum = 0, squares = 0, now_s = 0;
    rllb_balancer *b;
    int32_t i, k, j;

    d.features = RLLB_FEATURES_RELATIVE;
    d.control_steps = true;
    d.stream = stream;
    d.spread = spread;
    b = rllb_balancer_create(&d);
    CHECK(b != NULL);
    if (!b) return -1;
    for (i = 0; i < N; i++) {
        steps[i] = 1;
        for (j = 0; j < held; j++) CHECK_EQ_I(rllb_balancer_started(b, i, 0), RLLB_OK);
    }
    for (k = 0; k < 400; k++) {
        now_s += 0.25;
        for (i = 0; i < N; i++) {
            for (j = 0; j < 8; j++) {
                CHECK_EQ_I(rllb_balancer_started(b, i, now_s - 0.1), RLLB_OK);
                CHECK_EQ_I(rllb_balancer_done(b, i, now_s - 0.1, now_s, RLLB_OUTCOME_OK), RLLB_OK);
            }
        }
        rllb_balancer_tick(b, now_s);
        CHECK_EQ_I(rllb_balancer_act(b, steps, N, now_s), RLLB_OK);
    }
    for (i = 0; i < N; i++) {
        double x = log((double)info_of(b, i).weight_in_force);
        if (weights) weights[i] = (float)x;
        sum += x;
        squares += x * x;
    }
    rllb_balancer_destroy(b);
    return sqrt((squares - sum * sum / N) / (N - 1));
}

/* 400 steps of half weight draw all the way where hardly a request is held, a fourth or so where three are. */
TEST(balancers_of_many_draw_their_weights_apart)
{
    static float one[60], same[60], other[60];
    double apart = drawn_apart(1, 1, 0, one), again = drawn_apart(1, 1, 0, same), theirs = drawn_apart(2, 1, 0, other);
    double product = 0, few = drawn_apart(1, 1, 3, NULL);
    int32_t i;

    CHECK(drawn_apart(1, 0, 0, NULL) < 1e-5);
    CHECK_NEAR(apart, 1, 0.3); /* more than three standard errors of a deviation of 60 */
    CHECK_NEAR(again, apart, 0);
    CHECK_MEM(one, same, sizeof one);
    CHECK_NEAR(theirs, 1, 0.3);
    for (i = 0; i < 60; i++) product += (double)one[i] * (double)other[i] / 60;
    CHECK_NEAR(product, 0, 0.5); /* nearly four standard errors of a correlation of none */
    CHECK(few < 0.4 * apart);
}

/* The logarithms of the weights of two servers, the second of which has changed, over that of a third that was not to
   move, after a step of 1.1 for both. */
static void step_after_a_change(float changed_s, int32_t held, double out[2])
{
    static const float none[4] = { 1, 1, 1, 1 }, step[4] = { 1, 1, 1.1f, 1.1f };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 4);
    double now_s = 0, still;
    rllb_balancer *b;
    int32_t k, i, j;

    d.features = RLLB_FEATURES_RELATIVE;
    d.control_steps = true;
    b = rllb_balancer_create(&d);
    CHECK(b != NULL);
    if (!b) return;
    for (i = 0; i < 4; i++) {
        for (j = 0; j < held; j++) CHECK_EQ_I(rllb_balancer_started(b, i, 0), RLLB_OK);
    }
    for (k = 0; k < 100; k++) {
        now_s += 0.25;
        for (i = 0; i < 4; i++) {
            double took_s = i == 3 && k == 99 ? (double)changed_s : 0.1;
            for (j = 0; j < 8; j++) {
                CHECK_EQ_I(rllb_balancer_started(b, i, now_s - took_s), RLLB_OK);
                CHECK_EQ_I(rllb_balancer_done(b, i, now_s - took_s, now_s, RLLB_OUTCOME_OK), RLLB_OK);
            }
        }
        rllb_balancer_tick(b, now_s);
        CHECK_EQ_I(rllb_balancer_act(b, k < 99 ? none : step, 4, now_s), RLLB_OK);
    }
    still = log((double)info_of(b, 0).weight_in_force);
    for (i = 0; i < 2; i++) out[i] = log((double)info_of(b, 2 + i).weight_in_force) - still;
    rllb_balancer_destroy(b);
}

/* Eight ends let half of a step count; of a server whose durations changed, 8/10 of four steps. Where hardly a request
   is held at a server, durations tell of chance. */
TEST(steps_are_greater_where_durations_changed)
{
    double step = log(1.1), as_before[2], slower[2], faster[2], of_many[2];

    step_after_a_change(0.1f, 8, as_before);
    step_after_a_change(0.3f, 8, slower);
    step_after_a_change(0.01f, 8, faster);
    step_after_a_change(0.01f, 0, of_many);
    CHECK_NEAR(as_before[0], 0.5 * step, 1e-4);
    CHECK_NEAR(as_before[1], 0.5 * step, 1e-4);
    CHECK_NEAR(slower[1], 3.2 * step, 0.05 * step);
    CHECK_NEAR(faster[1], 3.2 * step, 0.05 * step);
    CHECK_NEAR(faster[0], 0.5 * step, 1e-4);
    CHECK_NEAR(of_many[1], 0.5 * step, 1e-4);
}

/* The guard is in force for what comes out of them: at most doubled from tick to tick, however often and far they go;
   and what is refused changes nothing. */
TEST(steps_are_held_by_the_guard)
{
    static const float far[4] = { 1000, 1, 1, 1 }, wrong[4] = { 1, (float)NAN, 1, 1 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 4);
    double before[4] = { 1, 1, 1, 1 };
    rllb_balancer *b;
    int32_t t, i, k;

    d.control_steps = true;
    d.guard.rate = 2;
    d.guard.ceiling = 3;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (t = 0; t < 6; t++) {
        double sum = 0;
        rllb_balancer_tick(b, t);
        for (k = 0; k < 3; k++) {
            tell(b, 3, 100, t + 0.01 * k);
            CHECK_EQ_I(rllb_balancer_act(b, far, 4, t + 0.01 * k), RLLB_OK);
        }
        for (i = 0; i < 4; i++) {
            double now = (double)info_of(b, i).weight_in_force;
            NOTE("tick %d, server %d: %.4f from %.4f", (int)t, (int)i, now, before[i]);
            CHECK(now <= 2.0001 * before[i] && now >= 0.4999 * before[i] && now <= 3.0001);
            before[i] = now;
            sum += now;
        }
        CHECK_NEAR(sum, 4, 1e-4);
        CHECK(rllb_balancer_act(b, wrong, 4, t + 0.1) != RLLB_OK);
        for (i = 0; i < 4; i++) CHECK_NEAR(info_of(b, i).weight_in_force, before[i], 0);
        if (t == 0) CHECK_NEAR(before[0], 2, 1e-4);
    }
    CHECK_NEAR(before[0], 3, 1e-3);
    rllb_balancer_destroy(b);
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
