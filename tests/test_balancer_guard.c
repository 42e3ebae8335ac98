/* test_balancer_guard.c - the guard rails of the balancer, each in a farm that goes wrong in its way

   Every test is a story in simulated time (farm.h) with figures; -v shows them. Seeds are fixed, so a test passes
   always or never; the bounds leave room beside what was measured, so that another order of random draws does not
   break them, and are far from what happens without the rail. Compiles as C99. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include "test.h"

#include "farm.h"

static const double NOT_A_NUMBER = (double)NAN;

/* ---- helpers ------------------------------------------------------------------------------------------------- */

static rllb_guard no_guard(void)
{
    rllb_guard g;

    g.floor = g.ceiling = g.rate = g.deadline_s = RLLB_OFF;
    g.eject_failures = g.eject_rate = g.eject_s = g.eject_longest_s = g.eject_share = g.panic = RLLB_OFF;
    g.slow_start_s = g.minimum_share = g.failure_s = RLLB_OFF;
    return g;
}

/* Ten servers of four slots, 50 ms of work each, load 0.7: 560 requests a second. */
static farm_desc ten(rllb_balance policy)
{
    farm_desc d = farm_plain(10, 4, 0.05, 0.7);

    d.balancer.policy = policy;
    return d;
}

/* Five servers of two slots, 60 ms, load 0.6: 100 requests a second. */
static farm_desc five(rllb_balance policy)
{
    farm_desc d = farm_plain(5, 2, 0.06, 0.6);

    d.balancer.policy = policy;
    return d;
}

/* A controller as an operator might write it: weight = 1 / duration, by a feature of each server (0: q, 1: mean T,
   4: decayed mean T). One that has no sample gets what the best has. */
typedef struct inverse_rule {
    int32_t feature;
    uint64_t calls;
} inverse_rule;

static void inverse_control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    inverse_rule *rule = (inverse_rule *)self;
    int32_t each = observations / actions, i;
    float best = 1e30f;

    rule->calls++;
    for (i = 0; i < actions; i++) {
        action[i] = observation[i * each + rule->feature];
        if (action[i] > 0 && action[i] < best) best = action[i];
    }
    for (i = 0; i < actions; i++) action[i] = 1 / (action[i] > 0 ? action[i] : best);
}

static void learned_by(farm_desc *d, inverse_rule *rule)
{
    d->balancer.policy = RLLB_BALANCE_LEARNED;
    d->balancer.control = inverse_control;
    d->balancer.control_self = rule;
}

/* ---- the farm itself ----------------------------------------------------------------------------------------- */

/* Erlang's C formula: the chance that all c slots are busy. */
static double erlang_c(int32_t c, double offered)
{
    double term = 1, sum = 0, last;
    int32_t k;

    for (k = 0; k < c; k++) {
        sum += term;
        term *= offered / (k + 1);
    }
    last = term / (1 - offered / c);
    return last / (sum + last);
}

/* One server has a mean time in closed form: first come, first served with four slots, and processor sharing. */
TEST(the_farm_agrees_with_queueing_theory)
{
    double expected, mean;
    farm f;
    farm_desc d = farm_plain(1, 4, 0.05, 0.8);

    REQUIRE(farm_open(&f, &d));
    farm_run(&f, 2500);
    expected = 0.05 + erlang_c(4, 3.2) * 0.05 / (4 - 3.2);
    mean = farm_mean(&f.all);
    NOTE("M/M/4 at load 0.8: %.2f ms, by Erlang %.2f ms", 1e3 * mean, 1e3 * expected);
    CHECK_NEAR(mean, expected, 0.04 * expected);
    farm_close(&f);

    d = farm_plain(1, 1, 0.05, 0.6);
    d.active[0] = 32;
    REQUIRE(farm_open(&f, &d));
    farm_run(&f, 8000);
    mean = farm_mean(&f.all);
    NOTE("M/M/1 shared at load 0.6: %.2f ms, in theory %.2f ms", 1e3 * mean, 1e3 * 0.05 / 0.4);
    CHECK_NEAR(mean, 0.05 / 0.4, 0.04 * 0.125);
    CHECK_EQ_I(f.lost_jobs, 0);
    farm_close(&f);
}

/* ---- black hole ---------------------------------------------------------------------------------------------- */

typedef struct hole {
    double share, late_share, failures; /* of 30 s; from 2 s after the fault on; of all requests */
    uint64_t ejections, late_picks;
} hole;

/* Server 3 is well for 10 s, then fails within 1 ms what it gets, with that chance, for 30 s. */
static hole black_hole(const farm_desc *d, double chance)
{
    hole h;
    farm f;
    double picks;
    int32_t i;

    memset(&h, 0, sizeof h);
    if (!farm_open(&f, d)) {
        h.share = h.late_share = h.failures = NOT_A_NUMBER;
        return h;
    }
    farm_run(&f, 10);
    farm_fail(&f, 3, chance, 0.001);
    farm_mark(&f);
    farm_run(&f, 12);
    picks = (double)f.count[3].picks;
    farm_run(&f, 40);
    h.share = farm_share(&f, 3);
    h.failures = farm_failures(&f);
    h.late_picks = f.count[3].picks - (uint64_t)picks;
    h.late_share = (double)h.late_picks / (28 * d->rate);
    for (i = 0; i < d->balancers; i++) h.ejections += farm_counters(&f, i).ejections;
    CHECK_EQ_I(f.lost_jobs, 0);
    CHECK_EQ_I(f.nowhere, 0);
    farm_close(&f);
    return h;
}

static const rllb_balance queue_policies[] = {
    RLLB_BALANCE_LSQ,        RLLB_BALANCE_SED,       RLLB_BALANCE_NQ,   RLLB_BALANCE_P2C, RLLB_BALANCE_P2C_WEIGHTED,
    RLLB_BALANCE_LEAST_TIME, RLLB_BALANCE_PEAK_EWMA, RLLB_BALANCE_DRAW, RLLB_BALANCE_JIQ, RLLB_BALANCE_EQUALISE,
    RLLB_BALANCE_HLB,
};

enum { QUEUE_POLICIES = (int)(sizeof queue_policies / sizeof queue_policies[0]) };

TEST(a_server_that_fails_fast_is_a_black_hole_without_guard)
{
    hole h;
    farm_desc d;
    int i;

    for (i = 0; i < QUEUE_POLICIES; i++) {
        d = ten(queue_policies[i]);
        d.balancer.guard = no_guard();
        h = black_hole(&d, 1);
        NOTE("%s: %.1f %% of requests to one of ten, %.1f %% failed", rllb_balance_name(queue_policies[i]),
             100 * h.share, 100 * h.failures);
        CHECK_EQ_I(h.ejections, 0);
        if (queue_policies[i] == RLLB_BALANCE_LSQ || queue_policies[i] == RLLB_BALANCE_SED) CHECK(h.share > 0.5);
    }
}

TEST(the_guard_closes_the_black_hole)
{
    hole h;
    farm_desc d;
    inverse_rule rule = { 1, 0 };
    int i;

    for (i = 0; i <= QUEUE_POLICIES; i++) {
        d = ten(i < QUEUE_POLICIES ? queue_policies[i] : RLLB_BALANCE_LEARNED);
        if (i == QUEUE_POLICIES) learned_by(&d, &rule);
        h = black_hole(&d, 1);
        NOTE("%s: %.2f %% of requests, from 2 s on %.2f %% (%" PRIu64 " requests, out %" PRIu64 " times)",
             rllb_balance_name(d.balancer.policy), 100 * h.share, 100 * h.late_share, h.late_picks, h.ejections);
        CHECK(h.share < 0.005);
        CHECK(h.late_share < 0.002);
        h = black_hole(&d, 0.5);
        NOTE("%s, half fail: %.2f %% of requests, from 2 s on %.2f %% (%" PRIu64 " requests, out %" PRIu64 " times)",
             rllb_balance_name(d.balancer.policy), 100 * h.share, 100 * h.late_share, h.late_picks, h.ejections);
        CHECK(h.share < 0.02);
        CHECK(h.late_share < 0.01);
    }
}

TEST(the_guard_closes_the_black_hole_for_six_balancers)
{
    hole h;
    farm_desc d = ten(RLLB_BALANCE_LSQ);

    d.balancers = 6;
    h = black_hole(&d, 1);
    NOTE("lsq, 6 balancers: %.2f %% of requests, from 2 s on %.2f %%", 100 * h.share, 100 * h.late_share);
    CHECK(h.share < 0.03);
    CHECK(h.late_share < 0.01);
    h = black_hole(&d, 0.5);
    NOTE("half fail: %.2f %% of requests, from 2 s on %.2f %%", 100 * h.share, 100 * h.late_share);
    CHECK(h.share < 0.05);
    CHECK(h.late_share < 0.03);
}

/* A server that answers nothing any more: clients give up after 1 s. Without the guard lsq fills it with requests that
   nobody answers and then leaves it alone, round robin sends it a tenth for ever. */
static double hanging(rllb_balance policy, bool guarded)
{
    double failures;
    farm f;
    farm_desc d = ten(policy);

    d.timeout_s = 1;
    if (!guarded) d.balancer.guard = no_guard();
    if (!farm_open(&f, &d)) return NOT_A_NUMBER;
    farm_run(&f, 10);
    farm_speed(&f, 3, 0);
    farm_mark(&f);
    farm_run(&f, 40);
    failures = farm_failures(&f);
    farm_close(&f);
    return failures;
}

TEST(a_server_that_hangs_is_left)
{
    static const rllb_balance policies[] = { RLLB_BALANCE_ROUND_ROBIN, RLLB_BALANCE_P2C, RLLB_BALANCE_SED };
    double off, on;
    int i;

    for (i = 0; i < 3; i++) {
        off = hanging(policies[i], false);
        on = hanging(policies[i], true);
        NOTE("%s: %.2f %% time out without guard, %.2f %% with", rllb_balance_name(policies[i]), 100 * off, 100 * on);
        CHECK(on < (policies[i] == RLLB_BALANCE_ROUND_ROBIN ? 0.02 : 0.005));
        CHECK(on < off / 4);
    }
}

/* ---- equalise ------------------------------------------------------------------------------------------------ */

/* Half of the farm of "How partial views hurt": 6 servers with 4 CPUs and 6 with 8, speeds 0.6, 1 and 1.5 in turn,
   processor sharing of at most 32, at most 160 in a server, 0.2 s of work. Balancers are told nothing. */
static farm_desc twelve(double load, int32_t balancers)
{
    static const double speeds[3] = { 0.6, 1, 1.5 };
    farm_desc d = farm_plain(12, 4, 0.2, 0);
    double capacity = 0;
    int32_t i;

    for (i = 0; i < 12; i++) {
        d.cpus[i] = i < 6 ? 4 : 8;
        d.active[i] = 32;
        d.speed[i] = speeds[i % 3];
        capacity += d.cpus[i] * d.speed[i];
    }
    d.most = 160;
    d.balancers = balancers;
    d.rate = load * capacity / d.work_s;
    return d;
}

/* Equalise by stretch as one would first write it: the speed of a server from a 10 % quantile of its durations that
   follows the last few hundred, no rails. */
typedef struct naive_rule {
    double low[FARM_BALANCERS_MAX][FARM_SERVERS_MAX], mean[FARM_BALANCERS_MAX][FARM_SERVERS_MAX];
    float weight[FARM_BALANCERS_MAX][FARM_SERVERS_MAX];
    double next_s[FARM_BALANCERS_MAX];
} naive_rule;

static void naive_done(farm *f, int32_t b, int32_t server, double took_s)
{
    naive_rule *n = (naive_rule *)f->desc.user;
    double *low = &n->low[b][server], *mean = &n->mean[b][server];

    if (*mean <= 0) *low = *mean = took_s;
    *mean += 0.1 * (took_s - *mean);
    *low *= took_s < *low ? 1 - 0.1 * 0.9 : 1 + 0.1 * 0.1;
}

static void naive_tick(farm *f, int32_t b)
{
    naive_rule *n = (naive_rule *)f->desc.user;
    double log_mean = 0;
    int32_t i, count = f->servers;

    if (f->now_s < n->next_s[b]) return;
    n->next_s[b] = f->now_s + 2;
    for (i = 0; i < count; i++) {
        if (n->mean[b][i] <= 0) return;
        log_mean += log(n->mean[b][i] / n->low[b][i]) / count;
    }
    for (i = 0; i < count; i++) {
        n->weight[b][i] *= (float)exp(0.1 * (log_mean - log(n->mean[b][i] / n->low[b][i])));
    }
    rllb_balancer_act(f->balancer[b], n->weight[b], count, f->now_s);
}

static void naive_init(naive_rule *n)
{
    int32_t b, i;

    memset(n, 0, sizeof *n);
    for (b = 0; b < FARM_BALANCERS_MAX; b++) {
        for (i = 0; i < FARM_SERVERS_MAX; i++) n->weight[b][i] = 1;
    }
}

/* Of the second half of a run; early: of its second quarter. */
typedef struct settled {
    double mean_s, p99_s, failures, early_s;
    uint64_t refused;
} settled;

static settled settle(const farm_desc *d, double until_s)
{
    settled r;
    farm f;

    memset(&r, 0, sizeof r);
    r.mean_s = r.failures = NOT_A_NUMBER;
    if (!farm_open(&f, d)) return r;
    farm_run(&f, until_s / 4);
    farm_mark(&f);
    farm_run(&f, until_s / 2);
    r.early_s = farm_mean(&f.all);
    farm_mark(&f);
    farm_run(&f, until_s);
    r.mean_s = farm_mean(&f.all);
    r.p99_s = farm_quantile(&f, 0.99);
    r.failures = farm_failures(&f);
    r.refused = f.refused;
    CHECK_EQ_I(f.lost_jobs, 0);
    farm_close(&f);
    return r;
}

static void say(const char *what, const farm_desc *d, double load, settled r)
{
    NOTE("%-12s m = %d, load %.2f: mean %.0f ms, before that %.0f, P99 %.0f ms, %.2f %% failed (%" PRIu64 " refused)",
         what, (int)d->balancers, load, 1e3 * r.mean_s, 1e3 * r.early_s, 1e3 * r.p99_s, 100 * r.failures, r.refused);
}

/* SED that is told CPUs and speeds takes 195 ms at m = 1 and 223 at 6, weighted random choice 318 (load 0.84). */
TEST(equalise_by_stretch_does_not_feed_a_drowning_server)
{
    static const double loads[2] = { 0.84, 0.91 }, most_s[2][2] = { { 0.3, 0.37 }, { 0.33, 0.43 } };
    static const int32_t m[2] = { 1, 6 };
    settled stretch, duration;
    farm_desc d;
    int i, k;

    for (i = 0; i < 2; i++) {
        for (k = 0; k < 2; k++) {
            d = twelve(loads[i], m[k]);
            d.balancer.policy = RLLB_BALANCE_EQUALISE;
            d.balancer.by_stretch = true;
            stretch = settle(&d, 400);
            say("by stretch", &d, loads[i], stretch);
            d.balancer.by_stretch = false;
            duration = settle(&d, 400);
            say("by duration", &d, loads[i], duration);
            CHECK_EQ_U(stretch.refused, 0);
            CHECK(stretch.mean_s < most_s[i][k]);
            CHECK(stretch.mean_s < 1.1 * stretch.early_s); /* nor does it creep up */
            CHECK(duration.failures < 0.001);
        }
    }
}

TEST(the_naive_form_of_it_does)
{
    static naive_rule naive;
    settled sound, wild;
    farm_desc d = twelve(0.91, 6);

    d.balancer.policy = RLLB_BALANCE_EQUALISE;
    d.balancer.by_stretch = true;
    d.balancer.eta = 0.1f; /* as hasty as the naive one */
    sound = settle(&d, 300);
    say("by stretch", &d, 0.91, sound);
    d.balancer.policy = RLLB_BALANCE_LEARNED;
    d.balancer.form = RLLB_FORM_DRAW;
    d.balancer.guard = no_guard();
    d.user = &naive;
    d.after_done = naive_done;
    d.after_tick = naive_tick;
    naive_init(&naive);
    wild = settle(&d, 300);
    say("naive", &d, 0.91, wild);
    CHECK_EQ_U(sound.refused, 0);
    CHECK(wild.refused > 1000);
    CHECK(wild.p99_s > 2 * sound.p99_s);
}

/* Least and greatest of unloaded_s * speed over the servers of a farm: equal if it is in proportion to 1 / speed. */
static void unloaded_range(const farm *f, double *least, double *greatest)
{
    double x;
    int32_t i;

    *least = 1e30;
    *greatest = 0;
    for (i = 0; i < f->servers; i++) {
        x = (double)farm_info(f, 0, i).unloaded_s * f->server[i].native_speed;
        if (x < *least) *least = x;
        if (x > *greatest) *greatest = x;
    }
}

/* Six servers of 4 CPUs, speeds 0.5, 1 and 2 in turn, processor sharing, 0.2 s of work. */
static farm_desc six(double load)
{
    static const double speeds[3] = { 0.5, 1, 2 };
    farm_desc d = farm_plain(6, 4, 0.2, 0);
    int32_t i;

    for (i = 0; i < 6; i++) {
        d.active[i] = 32;
        d.speed[i] = speeds[i % 3];
    }
    d.rate = load * 4 * 7 / d.work_s;
    d.balancer.slots = 128;
    return d;
}

/* Without congestion a request takes its work, 200 ms by the mean; the estimate is a low quantile of moving averages,
   so that it is less than that, by the same factor everywhere. */
TEST(the_unloaded_duration_survives_congestion_that_comes_and_goes)
{
    static const double loads[6] = { 0.5, 0.97, 0.5, 0.97, 0.3, 1.2 };
    double least, greatest, worst = 1, lowest = 1e30, highest = 0;
    farm_desc d = six(0.5);
    farm f;
    int i;

    REQUIRE(farm_open(&f, &d));
    for (i = 0; i < 6; i++) {
        f.desc.rate = loads[i] / loads[0] * d.rate;
        farm_mark(&f);
        farm_run(&f, 60.0 * (i + 1));
        unloaded_range(&f, &least, &greatest);
        NOTE("load %.2f: mean %4.0f ms, unloaded duration * speed %.1f to %.1f ms", loads[i], 1e3 * farm_mean(&f.all),
             1e3 * least, 1e3 * greatest);
        if (greatest / least > worst) worst = greatest / least;
        if (greatest > highest) highest = greatest;
        if (least < lowest) lowest = least;
    }
    NOTE("proportional to 1 / speed to a factor of %.2f", worst);
    CHECK(worst < 2);
    CHECK(lowest > 0.35 * 0.2);
    CHECK(highest < 1.1 * 0.2);
    farm_close(&f);
}

TEST(the_unloaded_duration_survives_a_minute_of_overfeeding)
{
    double before, after;
    farm_desc d = six(0.5);
    rllb_balancer *b;
    farm f;

    d.balancer.policy = RLLB_BALANCE_WEIGHTED_ROUND_ROBIN;
    d.weight[0] = d.weight[3] = 0.5f;
    d.weight[2] = d.weight[5] = 2;
    REQUIRE(farm_open(&f, &d));
    b = f.balancer[0];
    farm_run(&f, 60);
    before = (double)farm_info(&f, 0, 1).unloaded_s;
    CHECK_EQ_I(rllb_balancer_set_weight(b, 1, 3, f.now_s), RLLB_OK); /* three times its share: 1.2 of what it can do */
    farm_mark(&f);
    farm_run(&f, 120);
    after = (double)farm_info(&f, 0, 1).unloaded_s;
    NOTE("overfed: mean %.0f ms, unloaded duration %.1f ms before and %.1f ms after", 1e3 * farm_mean(&f.count[1]),
         1e3 * before, 1e3 * after);
    CHECK(farm_mean(&f.count[1]) > 10 * before);
    CHECK_NEAR(after, before, 0.25 * before);
    farm_close(&f);
}

/* ---- what a controller may say ------------------------------------------------------------------------------- */

static void in_force(const farm *f, float *weight)
{
    int32_t i;

    for (i = 0; i < f->servers; i++) weight[i] = farm_info(f, 0, i).weight_in_force;
}

typedef struct bad_action {
    const char *what;
    int32_t actions;
    float value;
} bad_action;

/* A sound action after every tick; with `noise` a bad one after it too. */
typedef struct noisy {
    bool noise;
    uint64_t bad, taken, changed;
} noisy;

static void noisy_tick(farm *f, int32_t b)
{
    const bad_action bad[] = {
        { "NaN", 10, (float)NAN }, { "infinite", 10, (float)INFINITY }, { "minus infinite", 10, (float)-INFINITY },
        { "negative", 10, -1e-3f }, { "too few", 9, 1 }, { "too many", 11, 1 }, { "none", 0, 1 },
        { "less than none", -1, 1 }, { "as if with form", 13, 1 },
    };
    enum { BAD = (int)(sizeof bad / sizeof bad[0]) };
    noisy *n = (noisy *)f->desc.user;
    float action[16], before[10], after[10];
    const bad_action *now;
    int32_t i;

    for (i = 0; i < 10; i++) action[i] = i < 5 ? 2.0f : 1.0f;
    CHECK_EQ_I(rllb_balancer_act(f->balancer[b], action, 10, f->now_s), RLLB_OK);
    if (!n->noise) return;
    now = &bad[n->bad % BAD];
    for (i = 0; i < 16; i++) action[i] = 1;
    action[(n->bad / BAD) % 9] = now->value;
    in_force(f, before);
    if (rllb_balancer_act(f->balancer[b], action, now->actions, f->now_s) == RLLB_OK) n->taken++;
    in_force(f, after);
    if (memcmp(before, after, sizeof before) != 0) n->changed++;
    n->bad++;
}

TEST(bad_actions_change_nothing)
{
    uint64_t hash = 0;
    double mean = 0;
    noisy n;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LEARNED);
    int pass;

    d.after_tick = noisy_tick;
    d.user = &n;
    for (pass = 0; pass < 2; pass++) {
        memset(&n, 0, sizeof n);
        n.noise = pass == 1;
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 60);
        if (pass == 0) hash = f.hash, mean = farm_mean(&f.all);
        NOTE("%s: mean %.2f ms, %" PRIu64 " bad actions, %" PRIu64 " refused, %" PRIu64 " taken",
             pass ? "with noise" : "without", 1e3 * farm_mean(&f.all), n.bad, farm_counters(&f, 0).controls_refused,
             farm_counters(&f, 0).controls);
        CHECK_EQ_I(n.taken, 0);
        CHECK_EQ_I(n.changed, 0);
        CHECK_EQ_U(farm_counters(&f, 0).controls_refused, n.bad);
        CHECK(farm_counters(&f, 0).controls > 200);
        CHECK_EQ_U(farm_counters(&f, 0).fallbacks, 0);
        CHECK_EQ_U(f.hash, hash);
        CHECK_NEAR(farm_mean(&f.all), mean, 0);
        farm_close(&f);
    }
    CHECK(n.bad > 200);
}

/* Actions at the edge of what is sound: whatever is done with them, weights stay finite, above 0, of mean 1. */
TEST(extreme_actions_leave_sound_weights)
{
    const float extremes[] = { 0, 1e-45f, 1e-38f, 3.4e38f };
    float action[10], weight[10];
    double sum;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LEARNED);
    int i, k, round;

    for (round = 0; round < 2; round++) {
        if (round == 1) d.balancer.guard = no_guard();
        REQUIRE(farm_open(&f, &d));
        for (i = 0; i < 16; i++) {
            for (k = 0; k < 10; k++) action[k] = extremes[k < 5 ? i / 4 : i % 4];
            rllb_balancer_act(f.balancer[0], action, 10, f.now_s);
            farm_run(&f, f.now_s + 1);
            in_force(&f, weight);
            for (k = 0, sum = 0; k < 10; k++) {
                CHECK(weight[k] >= 0 && weight[k] <= 10.001f);
                sum += (double)weight[k];
            }
            CHECK_NEAR(sum, 10, 1e-3);
        }
        NOTE("%s guard: %" PRIu64 " picks, %" PRIu64 " found no server", round ? "no" : "with", f.all.picks, f.nowhere);
        CHECK_EQ_U(f.nowhere, 0);
        farm_close(&f);
    }
}

/* Server 0 gets ten times the weight of the others. `state`: 0 speaks, 1 silent, 2 speaks nonsense. */
static void lopsided_tick(farm *f, int32_t b)
{
    int state = *(int *)f->desc.user;
    float action[10];
    int32_t i;

    if (state == 1) return;
    for (i = 0; i < 10; i++) action[i] = i == 0 ? 10.0f : 1.0f;
    if (state == 2) action[3] = (float)NAN;
    rllb_balancer_act(f->balancer[b], action, 10, f->now_s);
}

TEST(a_stale_controller_is_replaced_and_comes_back)
{
    double speaking, waiting, silent, back;
    int state, how;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LEARNED);

    d.rate = 280; /* load 0.35: server 0's queue does not hide its weight */
    d.after_tick = lopsided_tick;
    d.user = &state;
    for (how = 1; how <= 2; how++) {
        state = 0;
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 10);
        farm_mark(&f);
        farm_run(&f, 20);
        speaking = farm_share(&f, 0);
        CHECK_EQ_U(farm_counters(&f, 0).fallbacks, 0);
        state = how;
        farm_run(&f, 20.3);
        farm_mark(&f);
        farm_run(&f, 24.5);
        waiting = farm_share(&f, 0);
        CHECK_EQ_U(farm_counters(&f, 0).fallbacks, 0);
        farm_run(&f, 26);
        CHECK_EQ_U(farm_counters(&f, 0).fallbacks, 1);
        farm_mark(&f);
        farm_run(&f, 60);
        silent = farm_share(&f, 0);
        CHECK_EQ_U(farm_counters(&f, 0).fallbacks, 1);
        state = 0;
        farm_run(&f, 62);
        farm_mark(&f);
        farm_run(&f, 82);
        back = farm_share(&f, 0);
        NOTE("%s: share of server 0 %.3f while it speaks, %.3f in the first seconds without, %.3f stale, %.3f again",
             how == 1 ? "silence" : "nonsense", speaking, waiting, silent, back);
        CHECK(speaking > 0.25);
        CHECK_NEAR(waiting, speaking, 0.05);
        CHECK_NEAR(silent, 0.1, 0.015);
        CHECK_NEAR(back, speaking, 0.03);
        CHECK_EQ_U(farm_counters(&f, 0).fallbacks, 1);
        CHECK((farm_counters(&f, 0).controls_refused > 0) == (how == 2));
        farm_close(&f);
    }
}

/* Weights of 1000 for one half of the servers and 1 for the other, the halves changing places at each call. */
typedef struct wild_rule {
    uint64_t calls;
    int32_t period; /* in calls */
    float before[10];
    double apart, up, least, greatest; /* change per interval between two weights, and of one; range */
} wild_rule;

static void wild_control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    wild_rule *w = (wild_rule *)self;
    uint64_t half = w->calls++ / (uint64_t)w->period % 2;
    int32_t i;

    (void)observation;
    (void)observations;
    for (i = 0; i < actions; i++) action[i] = (uint64_t)(i % 2) == half ? 1e6f : 1.0f;
}

static void wild_tick(farm *f, int32_t b)
{
    wild_rule *w = (wild_rule *)f->desc.user;
    float now[10];
    double ratio, up = 0, down = 1e30;
    int32_t i;

    (void)b;
    in_force(f, now);
    for (i = 0; i < 10; i++) {
        ratio = w->before[i] > 0 ? (double)now[i] / (double)w->before[i] : 1;
        if (ratio > up) up = ratio;
        if (ratio < down) down = ratio;
        if ((double)now[i] < w->least) w->least = (double)now[i];
        if ((double)now[i] > w->greatest) w->greatest = (double)now[i];
        w->before[i] = now[i];
    }
    if (up / down > w->apart) w->apart = up / down;
    if (up > w->up) w->up = up;
    if (1 / down > w->up) w->up = 1 / down;
}

/* At most fourfold an interval, in force and so with a mean of 1. */
static void wild_pick(farm *f, int32_t b)
{
    wild_rule *w = (wild_rule *)f->desc.user;
    float action[10];

    wild_control(w, NULL, 0, action, 10);
    rllb_balancer_act(f->balancer[b], action, 10, f->now_s);
}

TEST(a_wild_controller_moves_weights_no_faster_than_allowed)
{
    static const int32_t periods[4] = { 1, 3, 40, 700 }; /* the last one: not once per interval, but with every pick */
    wild_rule w;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LEARNED);
    rllb_counters c;
    int i;

    d.balancer.control = wild_control;
    d.balancer.control_self = &w;
    d.after_tick = wild_tick;
    d.user = &w;
    for (i = 0; i < 4; i++) {
        memset(&w, 0, sizeof w);
        w.period = periods[i];
        w.least = 1e30;
        if (i == 3) {
            d.balancer.control = NULL;
            d.before_pick = wild_pick;
        }
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 60);
        c = farm_counters(&f, 0);
        NOTE("flips every %d %s: an interval changes one weight by up to %.2f, two by %.2f against each other; "
             "all within %.4f to %.2f; mean %.1f ms", (int)periods[i], i == 3 ? "picks" : "intervals", w.up, w.apart,
             w.least, w.greatest, 1e3 * farm_mean(&f.all));
        CHECK(w.calls > 200);
        CHECK(w.up > 3.9 && w.up < 4.01);
        CHECK(w.apart < 16.02);
        CHECK(w.least > 0.0099);
        CHECK(w.greatest < 100);
        CHECK(c.controls_limited > 0);
        CHECK(c.controls >= c.controls_limited);
        CHECK_EQ_U(c.ejections, 0);
        CHECK_EQ_U(c.controls + c.controls_refused, w.calls);
        CHECK_EQ_U(f.nowhere, 0);
        farm_close(&f);
    }
}

/* ---- shadow and blend ---------------------------------------------------------------------------------------- */

/* Weights a controller would set: server i has i + 1. What SED would choose by them, lowest index first. */
typedef struct shadow_check {
    uint64_t differs;
} shadow_check;

static void ladder_control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    int32_t i;

    (void)self;
    (void)observation;
    (void)observations;
    for (i = 0; i < actions; i++) action[i] = (float)(i + 1);
}

static void shadow_pick(farm *f, int32_t b)
{
    shadow_check *s = (shadow_check *)f->desc.user;
    double q, best = 1e30, plain = 1e30;
    int32_t i, by_ladder = 0, by_plain = 0;

    for (i = 0; i < f->servers; i++) {
        q = (double)farm_info(f, b, i).in_flight;
        if ((q + 1) / (i + 1) < best * (1 - 1e-6)) best = (q + 1) / (i + 1), by_ladder = i;
        if (q + 1 < plain) plain = q + 1, by_plain = i;
    }
    s->differs += by_ladder != by_plain;
}

TEST(shadow_mode_decides_counts_and_does_not_act)
{
    uint64_t hash = 0, picks;
    shadow_check check = { 0 };
    rllb_counters c;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_SED);
    int pass;

    d.balancer.ties = RLLB_TIES_FIRST;
    d.balancer.guard = no_guard();
    for (pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            d.balancer.policy = RLLB_BALANCE_LEARNED;
            d.balancer.control = ladder_control;
            d.balancer.shadow = true;
            d.before_pick = shadow_pick;
            d.user = &check;
        }
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 1);
        picks = f.flows;
        check.differs = 0;
        c = farm_counters(&f, 0);
        farm_run(&f, 60);
        picks = f.flows - picks;
        if (pass == 0) hash = f.hash;
        CHECK_EQ_U(f.hash, hash);
        if (pass == 1) {
            uint64_t shadow = farm_counters(&f, 0).shadow_picks - c.shadow_picks;
            uint64_t differs = farm_counters(&f, 0).shadow_differs - c.shadow_differs;
            NOTE("%" PRIu64 " picks in shadow, %" PRIu64 " would have gone elsewhere, by hand %" PRIu64, shadow,
                 differs, check.differs);
            CHECK_EQ_U(shadow, picks);
            CHECK_EQ_U(differs, check.differs);
            CHECK(differs > picks / 10);
        } else CHECK_EQ_U(farm_counters(&f, 0).shadow_picks, 0);
        farm_close(&f);
    }
}

/* Drawn by weight alone (d = 1) the shares are the weights: 0.25 of the ladder's and 0.75 of the configured equal. */
TEST(blend_mixes_what_was_found_with_what_was_configured)
{
    static const float blends[4] = { 0.25f, 0.5f, 1, 0 }; /* 0: none given, so all */
    double expected, off, worst, all;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LEARNED);
    int i, k;

    d.balancer.form = RLLB_FORM_DRAW;
    d.balancer.d = 1;
    d.balancer.control = ladder_control;
    d.rate = 200;
    for (k = 0; k < 4; k++) {
        d.balancer.blend = blends[k];
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 10);
        farm_mark(&f);
        farm_run(&f, 110);
        all = (double)f.all.picks;
        worst = 0;
        for (i = 0; i < 10; i++) {
            double share = k < 2 ? (double)blends[k] : 1;
            expected = share * (i + 1) / 55 + (1 - share) / 10;
            off = (farm_share(&f, i) - expected) / sqrt(expected * (1 - expected) / all);
            CHECK_NEAR(farm_info(&f, 0, i).weight_in_force, 10 * expected, 1e-3);
            if (fabs(off) > worst) worst = fabs(off);
        }
        NOTE("blend %.2f: share of server 9 %.4f, worst of ten %.1f sigma off", (double)blends[k], farm_share(&f, 9),
             worst);
        CHECK(worst < 5);
        farm_close(&f);
    }
}

/* ---- ejection ------------------------------------------------------------------------------------------------ */

TEST(all_servers_failing_is_served_on_and_recovers)
{
    static const rllb_balance policies[] = { RLLB_BALANCE_SED, RLLB_BALANCE_LSQ, RLLB_BALANCE_P2C,
                                             RLLB_BALANCE_LEAST_TIME, RLLB_BALANCE_WCMP, RLLB_BALANCE_MAGLEV };
    double least, failed;
    rllb_counters c;
    farm f;
    farm_desc d;
    int32_t i, k, down, share;

    for (share = 0; share < 2; share++) {
        for (k = 0; k < 6; k++) {
            d = ten(policies[k]);
            d.rate = 280;
            if (share) d.balancer.guard.eject_share = 1;
            REQUIRE(farm_open(&f, &d));
            farm_run(&f, 10);
            for (i = 0; i < 10; i++) farm_fail(&f, i, 1, 0.001);
            farm_run(&f, 11);
            farm_mark(&f);
            farm_run(&f, 40);
            CHECK(farm_failures(&f) > 0.99);
            CHECK_EQ_U(f.nowhere, 0);
            for (i = 0; i < 10; i++) farm_heal(&f, i);
            farm_run(&f, 40.1);
            farm_mark(&f);
            farm_run(&f, 41);
            failed = farm_failures(&f);
            farm_run(&f, 50);
            farm_mark(&f);
            farm_run(&f, 70);
            c = farm_counters(&f, 0);
            for (i = 0, least = 1, down = 0; i < 10; i++) {
                if (farm_share(&f, i) < least) least = farm_share(&f, i);
                if (farm_info(&f, 0, i).state != RLLB_SERVER_UP) down++;
            }
            NOTE("%s, eject_share %.1f: ejections %" PRIu64 ", spared %" PRIu64 ", panics %" PRIu64
                 "; healed: %.2f %% fail in the first second, least share %.3f after ten",
                 rllb_balance_name(policies[k]), share ? 1.0 : 0.5, c.ejections, c.ejections_spared, c.panics,
                 100 * failed, least);
            CHECK(c.ejections > 0);
            CHECK(share ? c.panics > 0 : c.ejections_spared > 0);
            CHECK_NEAR(failed, 0, 0);
            CHECK_EQ_I(down, 0);
            CHECK(least > (policies[k] == RLLB_BALANCE_LEAST_TIME ? 0.05 : 0.08)); /* its averages wander */
            CHECK_EQ_U(f.nowhere, 0);
            farm_close(&f);
        }
    }
}

/* With half of the farm down by its health check, few failures suffice for panic. */
TEST(panic_calls_ejected_servers_back_but_not_those_down)
{
    farm f;
    farm_desc d = ten(RLLB_BALANCE_SED);
    rllb_counters c;
    uint64_t before;
    int32_t i;

    d.rate = 150;
    REQUIRE(farm_open(&f, &d));
    for (i = 0; i < 5; i++) CHECK_EQ_I(rllb_balancer_set_state(f.balancer[0], i, RLLB_SERVER_DOWN, 0), RLLB_OK);
    farm_run(&f, 10);
    farm_mark(&f);
    for (i = 5; i < 10; i++) farm_fail(&f, i, 1, 0.001);
    farm_run(&f, 20);
    c = farm_counters(&f, 0);
    NOTE("5 down, 5 failing: ejections %" PRIu64 ", spared %" PRIu64 ", panics %" PRIu64 ", %" PRIu64 " sent nowhere",
         c.ejections, c.ejections_spared, c.panics, f.nowhere);
    CHECK(c.panics > 0);
    CHECK_EQ_U(f.nowhere, 0);
    for (i = 0; i < 5; i++) CHECK_EQ_U(f.count[i].picks, 0);
    for (i = 5; i < 10; i++) {
        rllb_server_info info = farm_info(&f, 0, i);
        before = f.count[i].picks;
        CHECK(before > 0);
        CHECK(info.usable);
    }
    farm_close(&f);
}

/* Ejections of server 3 as seen from outside: when each was noticed. */
typedef struct outings {
    double at_s[64], out_s; /* out_s: in all */
    int32_t count, most_out;
} outings;

static void watch(const farm *f, double step_s, outings *o)
{
    rllb_server_info info = farm_info(f, 0, 3);
    int32_t i, out = 0;

    for (i = 0; i < f->servers; i++) out += farm_info(f, 0, i).state == RLLB_SERVER_EJECTED;
    if (out > o->most_out) o->most_out = out;
    if (info.state == RLLB_SERVER_EJECTED) o->out_s += step_s;
    while (o->count < 64 && (uint64_t)o->count < info.ejections) o->at_s[o->count++] = f->now_s;
}

/* The servers of `mask` are good and bad for 2 s in turn, each with a phase of its own if spread; until 130 s. */
static void flap(farm *f, uint32_t mask, bool spread, outings *o)
{
    int32_t i, step;

    memset(o, 0, sizeof *o);
    for (step = 0; step < 12000; step++) {
        for (i = 0; i < f->servers; i++) {
            int32_t at = step + (spread ? 37 * i : 0);
            if (!(mask >> i & 1) || at % 200) continue;
            if (at / 200 % 2) farm_heal(f, i);
            else farm_fail(f, i, 1, 0.001);
        }
        farm_run(f, 10 + 0.01 * (step + 1));
        watch(f, 0.01, o);
    }
}

/* While the server is out it is tried once a period, which may fail and eject it again: so from one ejection to the
   next there is at least the period, a second at first, then twice the one before, at last eight seconds. */
TEST(a_flapping_server_is_out_longer_and_longer)
{
    outings o;
    double failures[2], period = 1, shortest = 1e30;
    uint64_t picks = 0;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LSQ);
    char text[200];
    int32_t i, at = 0;
    int pass;

    for (pass = 0; pass < 2; pass++) {
        if (pass == 0) d.balancer.guard = no_guard();
        else memset(&d.balancer.guard, 0, sizeof d.balancer.guard);
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 10);
        farm_mark(&f);
        flap(&f, 1u << 3, false, &o);
        failures[pass] = farm_failures(&f);
        picks = f.count[3].failed;
        NOTE("lsq %s: %.3f %% of requests fail, %.2f %% go to the flapping server", pass ? "guarded" : "alone",
             100 * failures[pass], 100 * farm_share(&f, 3));
        farm_close(&f);
    }
    text[0] = 0;
    for (i = 1; i < o.count; i++) {
        if (at < 180) at += snprintf(text + at, sizeof text - (size_t)at, " %.1f", o.at_s[i] - o.at_s[i - 1]);
    }
    NOTE("out for %.1f s of 120, %" PRIu64 " failures; from ejection to ejection%s s", o.out_s, picks, text);
    CHECK(failures[0] > 0.25);
    CHECK(failures[1] < 0.002);
    REQUIRE(o.count >= 5);
    for (i = 1; i < o.count; i++) {
        CHECK(o.at_s[i] - o.at_s[i - 1] > period - 0.011);
        if (period < 4) period *= 2;
        else if (o.at_s[i] - o.at_s[i - 1] < shortest) shortest = o.at_s[i] - o.at_s[i - 1];
    }
    CHECK_NEAR(shortest, 4, 0.6); /* a tick to notice, a request and a tick to try */
    CHECK(o.out_s < 115);         /* but it does come back */
}

TEST(never_more_than_a_share_is_out)
{
    static const float shares[3] = { 0, 0.2f, 0.05f }; /* 0: the default, 0.5; 0.05 of ten is one, always allowed */
    static const int32_t most[3] = { 5, 2, 1 };
    outings o;
    rllb_counters c;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_SED);
    int i;

    d.rate = 200;
    for (i = 0; i < 3; i++) {
        d.balancer.guard.eject_share = shares[i];
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 10);
        farm_mark(&f);
        flap(&f, 0xff, true, &o);
        c = farm_counters(&f, 0);
        NOTE("eject_share %.2f, 8 of 10 flap: at most %d out, %.2f %% fail, ejections %" PRIu64 ", spared %" PRIu64
             ", panics %" PRIu64, (double)shares[i], (int)o.most_out, 100 * farm_failures(&f), c.ejections,
             c.ejections_spared, c.panics);
        CHECK_EQ_I(o.most_out, most[i]);
        CHECK(c.ejections_spared > 0);
        CHECK(farm_failures(&f) < 0.35); /* 0.55 to 0.63 if those spared went on with all of their weight */
        CHECK_EQ_U(f.nowhere, 0);
        farm_close(&f);
    }
}

/* ---- coming back --------------------------------------------------------------------------------------------- */

typedef struct comeback {
    double before, slow, after; /* share of the server before, while slow, and in the ten seconds from `within` on */
    double back_s;              /* until a second of half the fair share or more; 120: never */
} comeback;

/* One of five is ten times as slow from 20 s to 50 s, then well again. */
static comeback recover(const farm_desc *d, int within_s)
{
    comeback r = { 0, 0, 0, 120 };
    farm f;
    int i;

    if (!farm_open(&f, d)) return r;
    farm_run(&f, 10);
    farm_mark(&f);
    farm_run(&f, 20);
    r.before = farm_share(&f, 2);
    farm_speed(&f, 2, 0.1);
    farm_run(&f, 30);
    farm_mark(&f);
    farm_run(&f, 50);
    r.slow = farm_share(&f, 2);
    farm_heal(&f, 2);
    for (i = 1; i <= within_s + 10; i++) {
        farm_mark(&f);
        farm_run(&f, 50 + i);
        if (farm_share(&f, 2) >= 0.1 && r.back_s > i) r.back_s = i;
        if (i > within_s) r.after += farm_share(&f, 2) / 10;
    }
    CHECK_EQ_I(f.lost_jobs, 0);
    farm_close(&f);
    return r;
}

/* Fair is 0.2. Three take longer by their own rule: peak EWMA and HLB's filter forget with time constants of ten
   seconds, and a plain mean over a reservoir forgets only as new samples come. */
TEST(a_recovered_server_gets_its_share_back)
{
    static const struct {
        rllb_balance policy;
        bool by_stretch;
        int32_t feature, within_s;
        const char *what;
    } cases[] = {
        { RLLB_BALANCE_SED, false, 0, 10, "sed" },
        { RLLB_BALANCE_LEAST_TIME, false, 0, 10, "least_time" },
        { RLLB_BALANCE_PEAK_EWMA, false, 0, 20, "peak_ewma" },
        { RLLB_BALANCE_C3, false, 0, 10, "c3" },
        { RLLB_BALANCE_EQUALISE, false, 0, 10, "equalise" },
        { RLLB_BALANCE_EQUALISE, true, 0, 10, "equalise by stretch" },
        { RLLB_BALANCE_HLB, false, 0, 40, "hlb" },
        { RLLB_BALANCE_LEARNED, false, 4, 10, "learned, 1 / decayed" },
        { RLLB_BALANCE_LEARNED, false, 1, 90, "learned, 1 / mean" },
    };
    inverse_rule rule = { 0, 0 };
    comeback r;
    farm_desc d;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        d = five(cases[i].policy);
        rule.feature = cases[i].feature;
        if (cases[i].policy == RLLB_BALANCE_LEARNED) learned_by(&d, &rule);
        d.balancer.by_stretch = cases[i].by_stretch;
        r = recover(&d, cases[i].within_s);
        NOTE("%-21s share %.3f before, %.4f slow; healed: half the fair one after %.0f s, %.3f from %d s on",
             cases[i].what, r.before, r.slow, r.back_s, r.after, (int)cases[i].within_s);
        CHECK(r.slow < 0.06);
        CHECK(r.back_s <= cases[i].within_s);
        CHECK(r.after > 0.65 * 0.2);
    }
}

/* Server 2 is worth three of the others while it is well, next to nothing when it fails; healed, nobody says. */
static void wary_tick(farm *f, int32_t b)
{
    int32_t phase = *(int32_t *)f->desc.user, i;
    float action[5];

    for (i = 0; i < 5; i++) action[i] = i != 2 ? 1 : phase == 0 ? 3 : 0.01f;
    if (phase < 2) CHECK_EQ_I(rllb_balancer_act(f->balancer[b], action, 5, f->now_s), RLLB_OK);
}

TEST(a_server_that_failed_is_worth_what_it_was)
{
    float before[5], failing[5], after[5];
    farm_desc d = five(RLLB_BALANCE_LEARNED);
    int32_t phase = 0;
    farm f;

    d.after_tick = wary_tick;
    d.user = &phase;
    d.balancer.guard.deadline_s = RLLB_OFF; /* what was said last holds */
    REQUIRE(farm_open(&f, &d));
    farm_run(&f, 20);
    in_force(&f, before);
    farm_fail(&f, 2, 1, 0.001);
    farm_run(&f, 21);
    phase = 1;
    farm_run(&f, 40);
    in_force(&f, failing);
    farm_heal(&f, 2);
    phase = 2;
    farm_run(&f, 55);
    in_force(&f, after);
    NOTE("weight %.2f before, %.2f failing, %.2f healed; duration %.0f ms", (double)before[2], (double)failing[2],
         (double)after[2], 1e3 * (double)farm_info(&f, 0, 2).duration_s);
    CHECK(before[2] > 2);
    CHECK_NEAR(failing[2], 0, 0);
    CHECK(after[2] > 1.5f); /* others have the weight that it lost */
    CHECK(farm_info(&f, 0, 2).duration_s < 0.3f); /* failures count as 1 s */
    farm_close(&f);
}

/* Traefik's issue 12306: one bad sample at the start, and a server is never asked again. The first requests end before
   the traffic begins, after 60 ms but for the one of server 0, which takes 5 s. Shares of ten minutes. */
static void bad_start(const farm_desc *d, double *share, double *late)
{
    int32_t i, server, got[5] = { 0, 0, 0, 0, 0 };
    farm f;

    *share = *late = NOT_A_NUMBER;
    if (!farm_open(&f, d)) return;
    for (i = 0; i < 64 && !(got[0] && got[1] && got[2] && got[3] && got[4]); i++) {
        server = rllb_balancer_pick(f.balancer[0], 0, 0);
        if (server >= 0) got[server]++;
    }
    CHECK(got[0] > 0);
    for (i = 4; i >= 0; i--) {
        for (; got[i] > 1; got[i]--) rllb_balancer_done(f.balancer[0], i, 0, 0, RLLB_OUTCOME_CANCELLED);
        if (got[i]) rllb_balancer_done(f.balancer[0], i, 0, i ? 0.06 : 5, RLLB_OUTCOME_OK);
    }
    f.now_s = f.next_tick_s = 5;
    f.next_arrival_s += 5;
    for (i = 0; i < 5; i++) farm_speed(&f, i, 1); /* their clocks too are at 5 s */
    farm_run(&f, 305);
    *share = 0.5 * farm_share(&f, 0);
    farm_mark(&f);
    farm_run(&f, 605);
    *late = farm_share(&f, 0);
    *share += 0.5 * *late;
    farm_close(&f);
}

TEST(one_bad_sample_does_not_starve_a_server)
{
    static const rllb_balance policies[] = { RLLB_BALANCE_LEAST_TIME, RLLB_BALANCE_PEAK_EWMA, RLLB_BALANCE_C3 };
    double share, late;
    farm_desc d;
    int i;

    for (i = 0; i < 3; i++) {
        d = five(policies[i]);
        d.balancer.guard.minimum_share = RLLB_OFF;
        bad_start(&d, &share, &late);
        NOTE("%s without minimum share: %.4f of the requests of ten minutes, %.4f of the last five",
             rllb_balance_name(policies[i]), share, late);
        if (policies[i] == RLLB_BALANCE_LEAST_TIME) CHECK(share < 0.01);
        d = five(policies[i]);
        bad_start(&d, &share, &late);
        NOTE("%s: %.4f of the requests of ten minutes, %.4f of the last five", rllb_balance_name(policies[i]), share,
             late);
        /* 5 %; peak EWMA forgets 5 s with a time constant of ten, and wanders more */
        CHECK_NEAR(share, 0.2, policies[i] == RLLB_BALANCE_PEAK_EWMA ? 0.02 : 0.01);
        CHECK_NEAR(late, 0.2, 0.016); /* four standard deviations of any server's */
    }
}

/* A server that joins runs at a quarter of its speed until it is warm, in 5 s. Shares of the new one in the first two
   seconds, the next two, and from 6 s to 10 s; P99 of all requests of the first five seconds. */
typedef struct joined {
    double share[3], p99_s, cold_s;
} joined;

static joined join_cold(const farm_desc *d)
{
    static const double until_s[4] = { 2, 4, 6, 10 };
    rllb_server_desc extra = { "new", 1 };
    uint64_t all = 0, mine = 0;
    int32_t index = -1, i, k;
    joined r;
    farm f;

    memset(&r, 0, sizeof r);
    r.p99_s = NOT_A_NUMBER;
    if (!farm_open(&f, d)) return r;
    farm_run(&f, 20);
    CHECK_EQ_I(rllb_balancer_add(f.balancer[0], &extra, f.now_s, &index), RLLB_OK);
    CHECK_EQ_I(index, 10);
    farm_server_init(&f, index);
    f.servers = index + 1;
    farm_mark(&f);
    for (i = 0, k = 0; i < 10; i++) {
        farm_speed(&f, index, i < 5 ? 0.25 + 0.15 * i : 1);
        farm_run(&f, 21 + i);
        if (i == 4) {
            r.p99_s = farm_quantile(&f, 0.99);
            r.cold_s = farm_mean(&f.count[index]);
        }
        if (i + 1 < until_s[k]) continue;
        if (k != 2) r.share[k < 2 ? k : 2] = (double)(f.count[index].picks - mine) / (double)(f.all.picks - all);
        mine = f.count[index].picks;
        all = f.all.picks;
        k++;
    }
    farm_close(&f);
    return r;
}

TEST(a_new_server_starts_slowly)
{
    static const rllb_balance policies[] = { RLLB_BALANCE_SED, RLLB_BALANCE_LSQ, RLLB_BALANCE_DRAW,
                                             RLLB_BALANCE_LEAST_TIME, RLLB_BALANCE_WCMP,
                                             RLLB_BALANCE_WEIGHTED_ROUND_ROBIN };
    joined on, off;
    farm_desc d;
    int i;

    for (i = 0; i < 6; i++) {
        bool blind = i >= 4;
        d = ten(policies[i]);
        d.balancer.capacity = 11;
        on = join_cold(&d);
        d.balancer.guard.slow_start_s = RLLB_OFF;
        off = join_cold(&d);
        NOTE("%s: share in the first 2 s %.3f (without the rail %.3f), then %.3f (%.3f), in the end %.3f (%.3f); mean "
             "of the cold one %.0f ms (%.0f), P99 of all %.0f ms (%.0f)", rllb_balance_name(policies[i]), on.share[0],
             off.share[0], on.share[1], off.share[1], on.share[2], off.share[2], 1e3 * on.cold_s, 1e3 * off.cold_s,
             1e3 * on.p99_s, 1e3 * off.p99_s);
        CHECK(on.share[0] < 0.6 * off.share[0]);
        CHECK(on.share[0] < on.share[1] + 0.001 && on.share[1] < 0.8 * on.share[2]);
        CHECK(on.share[2] > 0.6 / 11);
        CHECK(on.p99_s < 1.1 * off.p99_s);
        if (blind) CHECK(on.cold_s < 0.3 * off.cold_s); /* the others see its queue themselves */
    }
}

/* ---- draining and down --------------------------------------------------------------------------------------- */

TEST(draining_and_down_servers_get_nothing_new)
{
    rllb_server_info info;
    farm f;
    farm_desc d;
    int32_t i;

    for (i = 0; i < (int32_t)RLLB_BALANCE_NUM; i++) {
        if (i == RLLB_BALANCE_CHOOSE || i == RLLB_BALANCE_GSQ || i == RLLB_BALANCE_SRT ||
            i == RLLB_BALANCE_SED_ORACLE) continue;
        d = ten((rllb_balance)i);
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 2);
        CHECK_EQ_I(rllb_balancer_set_state(f.balancer[0], 2, RLLB_SERVER_DRAINING, f.now_s), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_set_state(f.balancer[0], 5, RLLB_SERVER_DOWN, f.now_s), RLLB_OK);
        info = farm_info(&f, 0, 2);
        CHECK(!info.usable);
        farm_mark(&f);
        farm_run(&f, 6);
        CHECK_EQ_U(f.count[2].picks, 0);
        CHECK_EQ_U(f.count[5].picks, 0);
        CHECK_EQ_U(f.count[2].ok, (uint64_t)info.in_flight);
        CHECK_EQ_I(farm_info(&f, 0, 2).in_flight, 0);
        CHECK_EQ_I(farm_info(&f, 0, 5).in_flight, 0);
        CHECK_EQ_U(farm_counters(&f, 0).stray_done, 0);
        CHECK_EQ_U(f.nowhere, 0);
        CHECK_EQ_I(rllb_balancer_set_state(f.balancer[0], 2, RLLB_SERVER_UP, f.now_s), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_set_state(f.balancer[0], 5, RLLB_SERVER_UP, f.now_s), RLLB_OK);
        farm_mark(&f);
        farm_run(&f, 14);
        if (farm_share(&f, 2) < 0.04 || farm_share(&f, 5) < 0.04) {
            NOTE("%s: shares after %.3f and %.3f", rllb_balance_name((rllb_balance)i), farm_share(&f, 2),
                 farm_share(&f, 5));
        }
        CHECK(farm_share(&f, 2) > 0.03);
        CHECK(farm_share(&f, 5) > 0.03);
        farm_close(&f);
    }
}

/* ---- minimum share ------------------------------------------------------------------------------------------- */

static int32_t always_first(void *self, const float *observation, int32_t observations)
{
    (void)self;
    (void)observation;
    (void)observations;
    return 0;
}

TEST(the_minimum_share_reaches_servers_that_a_rule_forgets)
{
    double least = 1, most = 0, share;
    uint64_t others = 0;
    farm f;
    farm_desc d = ten(RLLB_BALANCE_CHOOSE);
    int32_t i;

    d.balancer.choose = always_first;
    d.rate = 60;
    REQUIRE(farm_open(&f, &d));
    CHECK_EQ_I(rllb_balancer_set_state(f.balancer[0], 9, RLLB_SERVER_DRAINING, 0), RLLB_OK);
    farm_run(&f, 1000);
    for (i = 1; i < 9; i++) {
        share = farm_share(&f, i) * 9; /* in fair shares */
        others += f.count[i].picks;
        if (share < least) least = share;
        if (share > most) most = share;
    }
    NOTE("forgotten servers get %.4f to %.4f of their fair share of %.1f a second, %" PRIu64 " probes", least, most,
         d.rate / 9, farm_counters(&f, 0).probes);
    CHECK(least > 0.01);
    CHECK(most < 0.11); /* a tenth: one in ten that were due */
    CHECK_EQ_U(farm_counters(&f, 0).probes, others);
    CHECK_EQ_U(f.count[9].picks, 0);
    CHECK_EQ_U(farm_counters(&f, 0).choose_refused, 0);
    farm_close(&f);

    d.balancer.guard.minimum_share = RLLB_OFF;
    REQUIRE(farm_open(&f, &d));
    farm_run(&f, 100);
    CHECK_EQ_U(f.count[0].picks, f.all.picks);
    CHECK_EQ_U(farm_counters(&f, 0).probes, 0);
    farm_close(&f);
}

/* The fair share of a server is by its weight: one of a thousandth is not fed a hundredth. */
TEST(the_minimum_share_leaves_small_servers_small)
{
    double expected = 1 / 1001.0, off;
    farm f;
    farm_desc d = farm_plain(2, 4, 0.001, 0.25);

    d.balancer.policy = RLLB_BALANCE_WCMP;
    d.weight[0] = 1000;
    REQUIRE(farm_open(&f, &d));
    farm_run(&f, 100);
    off = (farm_share(&f, 1) - expected) / sqrt(expected / (double)f.all.picks);
    NOTE("weights 1000 : 1: the small one gets %.5f, %.1f sigma off", farm_share(&f, 1), off);
    CHECK_NEAR(off, 0, 5);
    farm_close(&f);
}

/* Wants nothing sent to server 0. */
static void unwanted(farm *f, int32_t b)
{
    float action[10];
    int32_t i;

    for (i = 0; i < 10; i++) action[i] = i ? 1.0f : 0.0f;
    rllb_balancer_act(f->balancer[b], action, 10, f->now_s);
}

TEST(the_minimum_share_does_not_grow_with_actions)
{
    uint64_t probes[2];
    farm f;
    farm_desc d = ten(RLLB_BALANCE_LEARNED);
    int often;

    d.rate = 280;
    for (often = 0; often < 2; often++) {
        d.after_tick = often ? NULL : unwanted;
        d.before_pick = often ? unwanted : NULL;
        REQUIRE(farm_open(&f, &d));
        farm_run(&f, 60);
        probes[often] = farm_counters(&f, 0).probes;
        NOTE("an action with every %s: %" PRIu64 " probes, share %.4f", often ? "pick" : "tick", probes[often],
             farm_share(&f, 0));
        CHECK(farm_share(&f, 0) > 0.001);
        CHECK(farm_share(&f, 0) < 0.005);
        farm_close(&f);
    }
    CHECK(probes[1] < 2 * probes[0]);
}
