/* test_flows.c - the flow-level world: queueing theory, conservation, pairing, events, bad descriptors

   Means are taken over ten seeds. A mean must lie within four standard errors of theory (99.7 % of the time, by
   Student's t with nine degrees of freedom), and four standard errors must be a small share of it, or else the test
   would prove nothing. Seeds are fixed, so a test passes always or never. Compiles as C99 and C++11. */

#include <stdlib.h>

static int blocks_asked; /* how many were asked for, ever */
static void *counted_block(size_t bytes)
{
    blocks_asked++;
    return malloc(bytes);
}

#define RLLB_MALLOC(bytes) counted_block(bytes)
#define RLLB_FREE(pointer) free(pointer)
#define RLLB_STATIC
#include "rllb_env.h"
#include "test.h"

static const double NOT_A_NUMBER = (double)NAN;

/* ---- helpers ------------------------------------------------------------------------------------------------- */

enum { SEEDS = 10 };

/* Instrumented programs are slow, and look for other mistakes: a fourth of the time, twice the error. */
#if defined(__SANITIZE_ADDRESS__)
#define SHORTER 4.0
#else
#define SHORTER 1.0
#endif

static rllb_env_server_desc farm[16];

/* `count` servers with that many CPUs, load `rho`, 100 ms of work. */
static rllb_env_flows_desc plain(int32_t count, int32_t cpus, double rho)
{
    rllb_env_flows_desc d;
    int32_t i;

    memset(farm, 0, sizeof farm);
    for (i = 0; i < count; i++) farm[i].cpus = cpus;
    rllb_env_flows_desc_default(&d);
    d.servers = farm;
    d.count = count;
    d.work_s = 0.1;
    d.rate = rho * count * cpus / d.work_s;
    d.seed = 1;
    return d;
}

/* Two balancers over 4 servers with 2 CPUs and 3 with 4. */
static rllb_env_flows_desc moderate(rllb_balance policy, double rho)
{
    rllb_env_flows_desc d = plain(7, 2, rho);
    int32_t i;

    for (i = 4; i < 7; i++) farm[i].cpus = 4;
    d.rate = rho * 20 / d.work_s;
    d.balancers = 2;
    d.balancer.policy = policy;
    return d;
}

/* Mean time of a flow in the system, per seed. */
static rllb_stats means(const rllb_env_flows_desc *d, double warm_s, double run_s)
{
    rllb_env_flows *w = rllb_env_flows_create(d);
    rllb_env_flows_info a, b;
    rllb_stats s;
    uint64_t seed;

    run_s /= SHORTER;
    memset(&s, 0, sizeof s);
    for (seed = 1; w && seed <= SEEDS; seed++) {
        rllb_env_flows_reset(w, seed);
        rllb_env_flows_run(w, warm_s);
        rllb_env_flows_query(w, &a);
        rllb_env_flows_run(w, warm_s + run_s);
        rllb_env_flows_query(w, &b);
        rllb_stats_add(&s, (b.duration_sum_s - a.duration_sum_s) / (double)(b.completed - a.completed));
    }
    rllb_env_flows_destroy(w);
    return s;
}

static void check_mean(const rllb_stats *s, double theory, double share)
{
    double error = 4 * rllb_stats_stddev(s) / sqrt((double)SEEDS);

    NOTE("mean %.5f, theory %.5f, four standard errors %.2f %%", s->mean, theory, 100 * error / theory);
    CHECK_EQ_I(s->count, SEEDS);
    CHECK_NEAR(s->mean, theory, error);
    CHECK(error < share * sqrt(SHORTER) * theory);
}

static double erlang_c(int32_t c, double offered)
{
    double term = 1, sum = 0, last;
    int32_t k;

    for (k = 0; k < c; k++) {
        sum += term;
        term *= offered / (k + 1);
    }
    last = term * c / (c - offered);
    return last / (sum + last);
}

typedef struct ends {
    uint64_t hash, arrivals; /* of all ends in order; of arrival times, work and balancer, in any order */
    int64_t count, fates[RLLB_ENV_FATE_NUM], nowhere, wrong, server[16], balancer[16];
    double work_sum, work_squares, last_s;
    const rllb_env_flows *world;
} ends;

static uint64_t bits(double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof u);
    return u;
}

static uint64_t stir(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 29);
}

static bool conserved(const rllb_env_flows *w)
{
    rllb_env_flows_info i;

    rllb_env_flows_query(w, &i);
    return i.arrived == i.completed + i.rejected + i.failed + i.timed_out + i.in_flight && i.in_flight >= 0 &&
           i.abandoned >= 0 && i.no_room <= i.rejected;
}

static void hear(void *user, const rllb_env_flow *f)
{
    ends *e = (ends *)user;
    uint64_t h = e->hash, one = stir(stir(bits(f->arrived_s), bits(f->work_s)), (uint64_t)f->balancer);

    h = stir(stir(stir(h, bits(f->ended_s)), one), (uint64_t)(f->server + 1) * 8 + (uint64_t)f->fate);
    e->hash = h;
    e->arrivals += one;
    e->count++;
    e->fates[f->fate]++;
    e->work_sum += f->work_s;
    e->work_squares += f->work_s * f->work_s;
    if (f->server < 0) e->nowhere++;
    else if (f->server < 16) e->server[f->server]++;
    if (f->balancer < 16) e->balancer[f->balancer]++;
    e->wrong += f->ended_s < e->last_s || f->ended_s < f->arrived_s || (e->world && !conserved(e->world));
    e->last_s = f->ended_s;
}

static ends run(const rllb_env_flows_desc *d, double until_s)
{
    rllb_env_flows *w = rllb_env_flows_create(d);
    ends e;

    memset(&e, 0, sizeof e);
    if (!w) return e;
    e.world = w;
    rllb_env_flows_listen(w, hear, &e);
    rllb_env_flows_run(w, until_s);
    e.world = NULL;
    rllb_env_flows_destroy(w);
    return e;
}

/* ---- theory -------------------------------------------------------------------------------------------------- */

TEST(mm1_fifo)
{
    rllb_env_flows_desc d = plain(1, 1, 0.7);
    rllb_stats s = means(&d, 100, 6000);

    check_mean(&s, 0.1 / (1 - 0.7), 0.05);
}

TEST(mm1_processor_sharing)
{
    rllb_env_flows_desc d = plain(1, 1, 0.7);
    rllb_stats s;

    farm[0].active = 1000;
    s = means(&d, 100, 6000);
    check_mean(&s, 0.1 / (1 - 0.7), 0.05);
}

TEST(mmc_erlang)
{
    rllb_env_flows_desc d = plain(1, 6, 0.8);
    rllb_stats s = means(&d, 50, 1500);

    check_mean(&s, 0.1 + erlang_c(6, 4.8) * 0.1 / (6 - 4.8), 0.05);
}

/* With c CPUs shared by all, the number of flows is that of the M/M/c queue; so is the mean time. */
TEST(mmc_processor_sharing)
{
    rllb_env_flows_desc d = plain(1, 6, 0.8);
    rllb_stats s;

    farm[0].active = 1000;
    s = means(&d, 50, 1500);
    check_mean(&s, 0.1 + erlang_c(6, 4.8) * 0.1 / (6 - 4.8), 0.05);
}

TEST(md1)
{
    rllb_env_flows_desc d = plain(1, 1, 0.7);
    rllb_stats s;

    d.law = RLLB_ENV_SAME;
    s = means(&d, 100, 6000);
    check_mean(&s, 0.1 + 0.7 * 0.1 / (2 * (1 - 0.7)), 0.05);
}

/* Pollaczek and Khinchin: work of standard deviation 1.5 means. */
TEST(mg1_fifo)
{
    rllb_env_flows_desc d = plain(1, 1, 0.6);
    rllb_stats s;

    d.law = RLLB_ENV_LOGNORMAL;
    d.spread = 1.5;
    s = means(&d, 100, 8000);
    check_mean(&s, 0.1 + 0.6 * 0.1 * (1 + 1.5 * 1.5) / (2 * (1 - 0.6)), 0.08);
}

/* Under processor sharing the mean time depends on the mean work only. */
TEST(mg1_ps_is_insensitive)
{
    static const rllb_env_law laws[] = { RLLB_ENV_LOGNORMAL, RLLB_ENV_SAME, RLLB_ENV_UNIFORM };
    rllb_env_flows_desc d = plain(1, 1, 0.6);
    rllb_stats s;
    int i;

    farm[0].active = 1000;
    for (i = 0; i < 3; i++) {
        d.law = laws[i];
        d.spread = i == 0 ? 1.5 : 0;
        s = means(&d, 100, 5000);
        check_mean(&s, 0.1 / (1 - 0.6), i == 0 ? 0.06 : 0.05);
    }
}

/* CPU and disk in turn. A flow that is alone takes the sum of its stages, however they are cut; at load it takes
   longer, but not as long as in a CPU and a disk with exponential stages, since many short ones vary less. */
TEST(stages_take_their_time)
{
    rllb_env_flows_desc d = plain(1, 1, 0.6);
    ends e;
    rllb_stats s;

    d.io = 0.4;
    d.stages = 7;
    d.rate = 0.02;
    e = run(&d, 20000);
    CHECK(e.count > 300);
    s = means(&d, 0, 20000);
    check_mean(&s, 0.1, 0.1); /* all but alone: no time is lost between stages */
    d.law = RLLB_ENV_SAME;
    s = means(&d, 0, 20000);
    NOTE("same work: %.6f", s.mean);
    CHECK_NEAR(s.mean, 0.1, 0.001);
    d.rate = 8; /* CPU load 0.48, disk 0.32: more than alone, less than both queues with all work exponential */
    s = means(&d, 50, 1000);
    NOTE("load 0.48 and 0.32: %.4f", s.mean);
    CHECK(s.mean > 0.1 && s.mean < 0.06 / (1 - 0.48) + 0.04 / (1 - 0.32));
}

TEST(speed_counts)
{
    rllb_env_flows_desc d = plain(1, 1, 0.7);
    rllb_stats s;

    farm[0].speed = 2;
    d.rate *= 2;
    s = means(&d, 50, 3000);
    check_mean(&s, 0.05 / (1 - 0.7), 0.05);
}

TEST(hops_are_added)
{
    rllb_env_flows_desc d = plain(1, 1, 0.5);
    rllb_stats s;

    d.hop_s[0] = 0.01;
    d.hop_s[1] = 0.03;
    s = means(&d, 50, 3000);
    check_mean(&s, 0.1 / (1 - 0.5) + 4 * 0.02, 0.05);
}

/* ---- what arrives -------------------------------------------------------------------------------------------- */

TEST(laws_have_their_moments)
{
    static const double deviation[RLLB_ENV_LAW_NUM] = { 1, 0, 0.25, 1, 0.57735026919, -1 };
    rllb_env_flows_desc d = plain(4, 4, 0.5);
    int law;

    for (law = 0; law < RLLB_ENV_LAW_NUM; law++) {
        ends e;
        double mean, sd, n;
        d.law = (rllb_env_law)law;
        d.spread = law == RLLB_ENV_PARETO ? 4.5 : 0; /* standard deviation of that: 1 / sqrt(4.5 * 2.5) */
        e = run(&d, 1000);
        n = (double)e.count;
        mean = e.work_sum / n;
        sd = sqrt(fmax(0, e.work_squares / n - mean * mean));
        NOTE("%s: %.0f flows, mean %.5f, deviation %.5f", rllb_env_law_name(d.law), n, mean, sd);
        CHECK(n > 70000);
        CHECK_NEAR(mean, 0.1, 0.1 * 4 / sqrt(n) + 1e-12);
        CHECK_NEAR(sd, 0.1 * (law == RLLB_ENV_PARETO ? 1 / sqrt(4.5 * 2.5) : deviation[law]), 0.003);
    }
}

TEST(poisson_counts)
{
    rllb_env_flows_desc d = plain(4, 4, 0.5);
    ends e;

    d.balancers = 8;
    e = run(&d, 1000);
    CHECK_NEAR((double)e.count, 80000, 4 * sqrt(80000.0) + 50);
    CHECK_NEAR((double)e.balancer[3], 10000, 4 * sqrt(10000.0) + 50);
    CHECK_NEAR((double)e.balancer[7], 10000, 4 * sqrt(10000.0) + 50);
}

/* Rates 200 and 50 for 0.5 s and 1.5 s on average: 87.5 a second. The variance of the count is far above Poisson's: in
   time t it is rate t + 2 (difference^2) p (1 - p) t / (1 / 0.5 + 1 / 1.5). */
TEST(markov_modulated_rates)
{
    rllb_env_flows_desc d = plain(4, 4, 0.5);
    rllb_env_flows *w;
    rllb_env_flows_info info;
    rllb_stats s;
    double variance, before = 0;
    int i;

    memset(&s, 0, sizeof s);
    d.rate = 100;
    d.burst[0] = 2;
    d.burst[1] = 0.5;
    d.burst_s[0] = 0.5;
    d.burst_s[1] = 1.5;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    for (i = 1; i <= 100; i++) {
        rllb_env_flows_run(w, 40.0 * i);
        rllb_env_flows_query(w, &info);
        rllb_stats_add(&s, (double)info.arrived - before);
        before = (double)info.arrived;
    }
    rllb_env_flows_destroy(w);
    variance = 40 * 87.5 + 2 * 150.0 * 150.0 * 0.25 * 0.75 * 40 / (1 / 0.5 + 1 / 1.5);
    NOTE("mean %.1f, deviation %.1f of 40 s, theory 3500 and %.1f", s.mean, rllb_stats_stddev(&s), sqrt(variance));
    CHECK_NEAR(s.mean, 3500, 4 * sqrt(variance / 100));
    CHECK_REL(rllb_stats_stddev(&s) / sqrt(variance), 1, 0.3); /* chi-square, 99 degrees: four standard errors */
}

TEST(trace_of_requests)
{
    static double time_s[] = { 0, 1, 1, 4 }, work[] = { 1, 2, 3, 2 };
    rllb_env_trace t;
    rllb_env_flows_desc d = plain(1, 8, 0.1);
    rllb_env_flows_info info;
    rllb_env_flows *w;

    memset(&t, 0, sizeof t);
    t.count = 4;
    t.kind = RLLB_ENV_TRACE_REQUESTS;
    t.time_s = time_s;
    t.work = work;
    t.total = 8;
    d.trace = &t;
    d.rate = 0; /* its own */
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 0.04); /* the first has half the mean work: 50 ms */
    rllb_env_flows_query(w, &info);
    CHECK_EQ_I(info.arrived, 1);
    CHECK_EQ_I(info.completed, 0);
    rllb_env_flows_run(w, 1.05);
    rllb_env_flows_query(w, &info);
    CHECK_EQ_I(info.arrived, 3);
    CHECK_EQ_I(info.completed, 1);
    CHECK_NEAR(info.duration_sum_s, 0.05, 1e-12);
    rllb_env_flows_run(w, 1.2);
    rllb_env_flows_query(w, &info);
    CHECK_NEAR(info.duration_sum_s, 0.3, 1e-12);
    rllb_env_flows_run(w, 5.3); /* a mean gap of 4/3 s after the last row it begins anew */
    rllb_env_flows_query(w, &info);
    CHECK_EQ_I(info.arrived, 4);
    rllb_env_flows_run(w, 5.34);
    rllb_env_flows_query(w, &info);
    CHECK_EQ_I(info.arrived, 5);
    rllb_env_flows_destroy(w);
    d.rate = 30; /* 40 times as fast */
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 399.99);
    rllb_env_flows_query(w, &info);
    CHECK_NEAR((double)info.arrived, 12000, 4);
    rllb_env_flows_destroy(w);
}

TEST(trace_of_amounts)
{
    static double time_s[] = { 0, 10, 20, 30 }, work[] = { 300, 100, 0, 800 };
    rllb_env_trace t;
    rllb_env_flows_desc d = plain(4, 8, 0.1);
    rllb_env_flows_info info;
    rllb_env_flows *w;
    int64_t before = 0, rows[4] = { 0, 0, 0, 0 };
    int i;

    memset(&t, 0, sizeof t);
    t.count = 4;
    t.kind = RLLB_ENV_TRACE_AMOUNTS;
    t.time_s = time_s;
    t.work = work;
    t.total = 1200;
    d.trace = &t;
    d.rate = 60;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    for (i = 0; i < 80; i++) { /* 20 rounds */
        rllb_env_flows_run(w, 10 * (i + 1) - 1e-6);
        rllb_env_flows_query(w, &info);
        rows[i % 4] += info.arrived - before;
        before = info.arrived;
    }
    rllb_env_flows_destroy(w);
    CHECK_NEAR((double)rows[0], 12000, 4 * sqrt(12000.0));
    CHECK_NEAR((double)rows[1], 4000, 4 * sqrt(4000.0));
    CHECK_EQ_I(rows[2], 0);
    CHECK_NEAR((double)rows[3], 32000, 4 * sqrt(32000.0));
}

/* ---- conservation and determinism ---------------------------------------------------------------------------- */

static rllb_env_event story[] = {
    { 2, RLLB_ENV_EVENT_SPEED, 0, 0.3 }, { 4, RLLB_ENV_EVENT_FAIL, 1, 0.5 },   { 5, RLLB_ENV_EVENT_SPEED, 2, 0 },
    { 7, RLLB_ENV_EVENT_JOIN, 3, 0 },    { 8, RLLB_ENV_EVENT_LEAVE, 4, 0 },    { 9, RLLB_ENV_EVENT_RATE, 0, 1.6 },
    { 11, RLLB_ENV_EVENT_BACK, 2, 0 },   { 12, RLLB_ENV_EVENT_BACK, 1, 0 },    { 13, RLLB_ENV_EVENT_JOIN, 4, 0 },
    { 14, RLLB_ENV_EVENT_RATE, 0, 1 },   { 14, RLLB_ENV_EVENT_BACK, 0, 0 },
};

/* All that can go wrong at once. */
static rllb_env_flows_desc faulty(void)
{
    rllb_env_flows_desc d = moderate(RLLB_BALANCE_LSQ, 0.9);
    int i;

    for (i = 0; i < 7; i++) {
        farm[i].active = 8;
        farm[i].most = 12;
    }
    farm[3].absent = true;
    d.law = RLLB_ENV_LOGNORMAL;
    d.io = 0.2;
    d.stages = 5;
    d.hop_s[0] = 0.001;
    d.hop_s[1] = 0.02;
    d.timeout_s = 0.8;
    d.reject_s = 0.05;
    d.sample_s = 0.1;
    d.events = story;
    d.event_count = (int32_t)(sizeof story / sizeof *story);
    return d;
}

TEST(flows_are_conserved_at_every_event)
{
    rllb_env_flows_desc d = faulty();
    rllb_env_flows *w = rllb_env_flows_create(&d);
    rllb_env_flows_info info;
    rllb_counters counters;
    ends e;
    int64_t wrong = 0, stops = 0, held_wrong = 0;
    int32_t held = 0, running = 0, j;
    double next;

    REQUIRE(w != NULL);
    memset(&e, 0, sizeof e);
    e.world = w;
    rllb_env_flows_listen(w, hear, &e);
    while ((next = rllb_env_flows_next_s(w)) <= 20) {
        wrong += rllb_env_flows_run(w, next) != RLLB_OK || !conserved(w);
        for (j = 0; j < d.count; j++) {
            rllb_env_flows_server(w, j, &held, &running, NULL);
            held_wrong += held < running || held > 12 || running > 8;
        }
        stops++;
    }
    rllb_env_flows_query(w, &info);
    NOTE("%lld events at %lld stops: %lld completed, %lld rejected, %lld failed, %lld timed out, %lld in flight, "
         "%lld abandoned", (long long)info.events, (long long)stops, (long long)info.completed,
         (long long)info.rejected, (long long)info.failed, (long long)info.timed_out, (long long)info.in_flight,
         (long long)info.abandoned);
    CHECK_EQ_I(wrong, 0);
    CHECK_EQ_I(held_wrong, 0);
    CHECK_EQ_I(e.wrong, 0);
    CHECK(stops > 10000 && info.completed > 1000 && info.rejected > 0 && info.failed > 0 && info.timed_out > 0);
    CHECK_EQ_I(e.fates[RLLB_ENV_COMPLETED], info.completed);
    CHECK_EQ_I(e.fates[RLLB_ENV_REJECTED] + e.fates[RLLB_ENV_NO_ROOM], info.rejected);
    CHECK_EQ_I(e.fates[RLLB_ENV_FAILED], info.failed);
    CHECK_EQ_I(e.fates[RLLB_ENV_TIMED_OUT], info.timed_out);
    CHECK_EQ_I(e.count, info.arrived - info.in_flight);
    for (j = 0; j < 2; j++) {
        rllb_balancer_counters(rllb_env_flows_balancer(w, j), &counters);
        CHECK_EQ_U(counters.stray_done + counters.bad_server + counters.bad_time, 0);
    }
    rllb_env_flows_destroy(w);
}

/* When arrivals cease everything drains away: every server is empty, every balancer has heard of every end. */
TEST(the_world_drains)
{
    rllb_env_event last[12];
    rllb_env_flows_desc d = faulty();
    rllb_env_flows_info info;
    rllb_server_info seen;
    rllb_env_flows *w;
    int32_t i, j, held = -1, running = -1;
    double residual_s = -1;

    memcpy(last, story, sizeof story);
    last[11].at_s = 20;
    last[11].kind = RLLB_ENV_EVENT_RATE;
    last[11].server = 0;
    last[11].value = 0;
    d.events = last;
    d.event_count = 12;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 20);
    rllb_env_flows_query(w, &info);
    CHECK(info.in_flight > 0);
    rllb_env_flows_run(w, 60);
    rllb_env_flows_query(w, &info);
    CHECK_EQ_I(info.in_flight, 0);
    CHECK_EQ_I(info.abandoned, 0);
    for (j = 0; j < d.count; j++) {
        CHECK(rllb_env_flows_server(w, j, &held, &running, &residual_s) == RLLB_OK);
        CHECK_EQ_I(held, 0);
        CHECK_EQ_I(running, 0);
        CHECK_NEAR(residual_s, 0, 0);
        for (i = 0; i < d.balancers; i++) {
            rllb_balancer_server(rllb_env_flows_balancer(w, i), j, &seen);
            CHECK_EQ_I(seen.in_flight, 0);
        }
    }
    rllb_env_flows_destroy(w);
}

/* The state of all is what each server says, and its capacity follows the events. */
TEST(the_global_state_is_that_of_all_servers)
{
    rllb_env_server_desc servers[3];
    rllb_env_event events[2];
    rllb_env_flows_desc d;
    rllb_env_flows *w;
    float state[3 * RLLB_ENV_FLOWS_STATE];
    int32_t j, held, running;
    double residual_s;

    memset(servers, 0, sizeof servers);
    for (j = 0; j < 3; j++) servers[j].cpus = 2;
    servers[2].speed = 1.5f;
    memset(events, 0, sizeof events);
    events[0].at_s = 5;
    events[0].kind = RLLB_ENV_EVENT_SPEED;
    events[0].server = 1;
    events[0].value = 0.5;
    events[1] = events[0];
    events[1].at_s = 10;
    events[1].value = 0;
    rllb_env_flows_desc_default(&d);
    d.servers = servers;
    d.count = 3;
    d.work_s = 0.1;
    d.rate = 50;
    d.events = events;
    d.event_count = 2;
    w = rllb_env_flows_create(&d);
    REQUIRE(w);
    CHECK_EQ_I(rllb_env_flows_state(w, NULL), 3 * RLLB_ENV_FLOWS_STATE);
    for (j = 0; j < 3; j++) {
        static const double capacity[3] = { 2, 1, 0 };
        CHECK_EQ_I(rllb_env_flows_run(w, 4 + 5 * j), RLLB_OK);
        rllb_env_flows_state(w, state);
        CHECK_NEAR((double)state[RLLB_ENV_FLOWS_STATE + 3], capacity[j], 1e-6);
        CHECK_NEAR((double)state[2 * RLLB_ENV_FLOWS_STATE + 3], 3, 1e-6);
        rllb_env_flows_server(w, 1, &held, &running, &residual_s);
        CHECK_NEAR((double)state[RLLB_ENV_FLOWS_STATE], held, 0);
        CHECK_NEAR((double)state[RLLB_ENV_FLOWS_STATE + 1], running, 0);
        CHECK_REL((double)state[RLLB_ENV_FLOWS_STATE + 2], residual_s, 1e-6);
    }
    CHECK(held > 0);
    rllb_env_flows_destroy(w);
}

TEST(same_seed_same_history)
{
    rllb_env_flows_desc d = faulty();
    rllb_env_flows *w = rllb_env_flows_create(&d);
    ends a, b, c, other;

    REQUIRE(w != NULL);
    a = run(&d, 20);
    b = run(&d, 20);
    memset(&c, 0, sizeof c); /* a world that has run, reset, and run in pieces */
    rllb_env_flows_run(w, 7.123);
    rllb_env_flows_reset(w, d.seed);
    rllb_env_flows_listen(w, hear, &c);
    while (rllb_env_flows_next_s(w) <= 20) rllb_env_flows_run(w, rllb_env_flows_next_s(w));
    rllb_env_flows_destroy(w);
    CHECK(a.count > 1000);
    CHECK_EQ_U(b.hash, a.hash);
    CHECK_EQ_U(c.hash, a.hash);
    d.seed = 2;
    other = run(&d, 20);
    CHECK(other.hash != a.hash);
    d.seed = 1;
    d.stream = 1;
    other = run(&d, 20);
    CHECK(other.hash != a.hash);
}

/* Until arrivals cease; then all ends are heard of, whatever the policy. */
TEST(policies_meet_the_same_arrivals)
{
    static const rllb_balance policies[] = { RLLB_BALANCE_LSQ,     RLLB_BALANCE_ECMP,  RLLB_BALANCE_SRT,
                                             RLLB_BALANCE_PREQUAL, RLLB_BALANCE_AWCMP, RLLB_BALANCE_C3 };
    static rllb_env_event stop[] = { { 20, RLLB_ENV_EVENT_RATE, 0, 0 } };
    rllb_env_flows_desc d = moderate(RLLB_BALANCE_SED, 0.8);
    ends sed, e;
    int i;

    d.events = stop;
    d.event_count = 1;
    d.io = 0.1;
    d.hop_s[1] = 0.01;
    sed = run(&d, 400);
    CHECK(sed.count > 3000);
    for (i = 0; i < 6; i++) {
        d.balancer.policy = policies[i];
        e = run(&d, 400);
        CHECK_EQ_I(e.count, sed.count);
        CHECK_EQ_U(e.arrivals, sed.arrivals);
        CHECK(e.hash != sed.hash);
    }
}

/* ---- limits and mistakes ------------------------------------------------------------------------------------- */

TEST(pool_runs_out)
{
    static rllb_env_event stop[] = { { 0, RLLB_ENV_EVENT_SPEED, 0, 0 }, { 5, RLLB_ENV_EVENT_BACK, 0, 0 } };
    rllb_env_flows_desc d = plain(1, 2, 0.5);
    rllb_env_flows_info info;
    rllb_env_flows *w;
    ends e;

    d.flows_max = 10;
    d.events = stop;
    d.event_count = 2;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    memset(&e, 0, sizeof e);
    e.world = w;
    rllb_env_flows_listen(w, hear, &e);
    rllb_env_flows_run(w, 5);
    rllb_env_flows_query(w, &info);
    CHECK_EQ_I(info.in_flight, 10);
    CHECK_EQ_I(info.no_room, info.arrived - 10);
    CHECK_EQ_I(e.fates[RLLB_ENV_NO_ROOM], info.no_room);
    CHECK_EQ_I(info.rejected, info.no_room);
    rllb_env_flows_run(w, 100);
    rllb_env_flows_query(w, &info);
    CHECK(info.completed > 600);
    CHECK(conserved(w));
    CHECK_EQ_I(e.wrong, 0);
    rllb_env_flows_destroy(w);
}

static void refused(const rllb_env_flows_desc *d, const char *what)
{
    rllb_env_flows *w = NULL;
    static unsigned char memory[64];

    NOTE("%s", what);
    CHECK_EQ_I(rllb_env_flows_size(d), 0);
    CHECK_EQ_I(rllb_env_flows_init(d, memory, sizeof memory, &w), RLLB_ERROR_ARGUMENT);
    CHECK(rllb_env_flows_create(d) == NULL);
    CHECK(w == NULL);
}

#define REFUSED(change)         \
    do {                        \
        d = plain(2, 2, 0.5);   \
        change;                 \
        refused(&d, #change);   \
    } while (0)

TEST(bad_descriptors_are_refused)
{
    static rllb_env_event bad[2];
    static double time_s[] = { 0, 1, 1 }, work[] = { 1, 1, 1 };
    rllb_env_flows_desc d = plain(2, 2, 0.5);
    rllb_env_trace t;
    float oracle[1] = { 0 };

    memset(&t, 0, sizeof t);
    CHECK(rllb_env_flows_size(&d) > 0);
    refused(NULL, "NULL");
    REFUSED(d.count = 0);
    REFUSED(d.count = -1);
    REFUSED(d.count = 4097);
    REFUSED(d.servers = NULL);
    REFUSED(d.balancers = -1);
    REFUSED(d.balancers = 1025);
    REFUSED(d.rate = 0);
    REFUSED(d.rate = -1);
    REFUSED(d.rate = NOT_A_NUMBER);
    REFUSED(d.rate = HUGE_VAL);
    REFUSED(d.work_s = 0);
    REFUSED(d.work_s = -0.1);
    REFUSED(d.work_s = NOT_A_NUMBER);
    REFUSED(d.law = (rllb_env_law)RLLB_ENV_LAW_NUM);
    REFUSED(d.spread = -1);
    REFUSED(d.spread = NOT_A_NUMBER);
    REFUSED(d.law = RLLB_ENV_UNIFORM; d.spread = 1.1);
    REFUSED(d.law = RLLB_ENV_PARETO; d.spread = 1);
    REFUSED(d.io = 1);
    REFUSED(d.io = -0.1);
    REFUSED(d.io = NOT_A_NUMBER);
    REFUSED(d.io = 0.5; d.stages = 1);
    REFUSED(d.io = 0.5; d.stages = 65);
    REFUSED(d.stages = 2);
    REFUSED(d.stages = -1);
    REFUSED(d.burst[0] = 1);
    REFUSED(d.burst_s[0] = 1; d.burst_s[1] = 1);
    REFUSED(d.burst[0] = -1; d.burst[1] = 2; d.burst_s[0] = d.burst_s[1] = 1);
    REFUSED(d.burst[0] = 1; d.burst_s[0] = 1);
    REFUSED(d.burst[0] = NOT_A_NUMBER; d.burst_s[0] = d.burst_s[1] = 1);
    REFUSED(d.hop_s[0] = 1);
    REFUSED(d.hop_s[0] = -1; d.hop_s[1] = 1);
    REFUSED(d.hop_s[1] = HUGE_VAL);
    REFUSED(d.timeout_s = -1);
    REFUSED(d.timeout_s = NOT_A_NUMBER);
    REFUSED(d.reject_s = -1);
    REFUSED(d.fail_s = -1);
    REFUSED(d.sample_s = -1);
    REFUSED(d.sample_s = 1e-9);
    REFUSED(d.step_s = -1);
    REFUSED(d.step_s = NOT_A_NUMBER);
    REFUSED(d.step_s = 1e-4);
    REFUSED(d.horizon_s = -1);
    REFUSED(d.horizon_s = HUGE_VAL);
    REFUSED(d.flows_max = -1);
    REFUSED(d.flows_max = (1 << 24) + 1);
    REFUSED(farm[1].cpus = -1);
    REFUSED(farm[1].cpus = 65537);
    REFUSED(farm[1].active = 1);
    REFUSED(farm[1].most = 1);
    REFUSED(farm[1].speed = -1);
    REFUSED(farm[1].speed = (float)NOT_A_NUMBER);
    REFUSED(farm[1].weight = -1);
    REFUSED(farm[1].weight = (float)HUGE_VAL);
    REFUSED(d.event_count = 1);
    REFUSED(d.events = bad; d.event_count = -1);
#define EVENT(at, what, which, how)             \
    do {                                        \
        bad[1].at_s = at;                       \
        bad[1].kind = (rllb_env_event_kind)what; \
        bad[1].server = which;                  \
        bad[1].value = how;                     \
        d.events = bad;                         \
        d.event_count = 2;                      \
    } while (0)
    bad[0].at_s = 1;
    REFUSED(EVENT(0.5, RLLB_ENV_EVENT_BACK, 0, 0));
    REFUSED(EVENT(NOT_A_NUMBER, RLLB_ENV_EVENT_BACK, 0, 0));
    REFUSED(EVENT(2, RLLB_ENV_EVENT_NUM, 0, 0));
    REFUSED(EVENT(2, RLLB_ENV_EVENT_BACK, 2, 0));
    REFUSED(EVENT(2, RLLB_ENV_EVENT_BACK, -1, 0));
    REFUSED(EVENT(2, RLLB_ENV_EVENT_SPEED, 0, -1));
    REFUSED(EVENT(2, RLLB_ENV_EVENT_RATE, 0, NOT_A_NUMBER));
    REFUSED(EVENT(2, RLLB_ENV_EVENT_FAIL, 0, 1.5));
    REFUSED(d.trace = &t);
    t.time_s = time_s;
    t.work = work;
    t.total = 3;
    t.count = 3;
    t.kind = RLLB_ENV_TRACE_AMOUNTS;
    REFUSED(d.trace = &t);
    t.kind = RLLB_ENV_TRACE_REQUESTS;
    REFUSED(d.trace = &t; d.burst[0] = d.burst_s[0] = d.burst_s[1] = 1);
    t.count = 1;
    REFUSED(d.trace = &t);
    REFUSED(d.balancer.workers = 2);
    REFUSED(d.balancer.join = true);
    REFUSED(d.balancer.shared = oracle);
    REFUSED(d.balancer.policy = (rllb_balance)RLLB_BALANCE_NUM);
    REFUSED(d.balancer.discount = -3);
    d = plain(2, 2, 0.5);
    CHECK(rllb_env_flows_size(&d) > 0);
}

TEST(wrong_calls_are_refused)
{
    rllb_env_flows_desc d = plain(2, 2, 0.5);
    rllb_env_flows *w = rllb_env_flows_create(&d);
    rllb_env_flows_info info;
    int32_t held;

    REQUIRE(w != NULL);
    CHECK_EQ_I(rllb_env_flows_run(w, 10), RLLB_OK);
    CHECK_EQ_I(rllb_env_flows_run(w, 9), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_run(w, NOT_A_NUMBER), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_run(w, HUGE_VAL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_run(NULL, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_reset(NULL, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_server(w, 2, &held, NULL, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_server(w, -1, &held, NULL, NULL), RLLB_ERROR_ARGUMENT);
    CHECK(rllb_env_flows_balancer(w, 1) == NULL && rllb_env_flows_balancer(w, -1) == NULL);
    CHECK(rllb_env_flows_balancer(NULL, 0) == NULL);
    rllb_env_flows_query(w, &info);
    CHECK_NEAR(info.now_s, 10, 0);
    rllb_env_flows_query(NULL, &info);
    rllb_env_flows_listen(NULL, NULL, NULL);
    rllb_env_flows_destroy(NULL);
    rllb_env_flows_destroy(w);
}

TEST(names)
{
    int i;

    for (i = 0; i < RLLB_ENV_LAW_NUM; i++) CHECK_EQ_I(rllb_env_law_of(rllb_env_law_name((rllb_env_law)i)), i);
    for (i = 0; i < RLLB_ENV_EVENT_NUM; i++) {
        CHECK_EQ_I(rllb_env_event_of(rllb_env_event_name((rllb_env_event_kind)i)), i);
    }
    CHECK_STR(rllb_env_fate_name(RLLB_ENV_TIMED_OUT), "timed_out");
    CHECK(rllb_env_law_name((rllb_env_law)RLLB_ENV_LAW_NUM) == NULL && rllb_env_law_of("gauss") == -1);
    CHECK(rllb_env_event_name((rllb_env_event_kind)(RLLB_ENV_EVENT_NUM + 1)) == NULL && rllb_env_event_of(NULL) == -1);
    CHECK(rllb_env_fate_name((rllb_env_fate)RLLB_ENV_FATE_NUM) == NULL);
}

TEST(nothing_is_allocated_after_init)
{
    rllb_env_flows_desc d = faulty();
    size_t size = rllb_env_flows_size(&d);
    unsigned char *memory = (unsigned char *)malloc(size + 1);
    rllb_env_flows *w = NULL;
    int before = blocks_asked;

    REQUIRE(memory != NULL && size > 0);
    CHECK_EQ_I(rllb_env_flows_init(&d, memory + 1, size - 1, &w), RLLB_ERROR_MEMORY_SIZE);
    CHECK(w == NULL);
    CHECK_EQ_I(rllb_env_flows_init(&d, memory + 1, size, &w), RLLB_OK);
    REQUIRE(w != NULL);
    CHECK_EQ_I(rllb_env_flows_run(w, 20), RLLB_OK);
    CHECK_EQ_I(rllb_env_flows_reset(w, 3), RLLB_OK);
    CHECK_EQ_I(rllb_env_flows_run(w, 20), RLLB_OK);
    CHECK_EQ_I(blocks_asked, before);
    rllb_env_flows_destroy(w);
    free(memory);
}

/* ---- events -------------------------------------------------------------------------------------------------- */

static rllb_env_event one_event(double at_s, rllb_env_event_kind kind, int32_t server, double value)
{
    rllb_env_event e;

    e.at_s = at_s;
    e.kind = kind;
    e.server = server;
    e.value = value;
    return e;
}

/* A server at a quarter of its speed takes four times as long for the rest; what it had done stays done. */
TEST(a_server_slows_down)
{
    static double time_s[] = { 0, 100 }, work[] = { 1, 1 };
    rllb_env_flows_desc d = plain(1, 1, 0.5);
    rllb_env_event e = one_event(0.25, RLLB_ENV_EVENT_SPEED, 0, 0.25);
    rllb_env_trace t;
    rllb_env_flows_info info;
    rllb_env_flows *w;
    double residual_s = 0;

    memset(&t, 0, sizeof t);
    t.count = 2;
    t.kind = RLLB_ENV_TRACE_REQUESTS;
    t.time_s = time_s;
    t.work = work;
    t.total = 2;
    d.trace = &t;
    d.rate = 0;
    d.work_s = 1;
    d.events = &e;
    d.event_count = 1;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 1.25);
    rllb_env_flows_server(w, 0, NULL, NULL, &residual_s);
    CHECK_NEAR(residual_s, 0.5, 1e-12);
    rllb_env_flows_run(w, 10);
    rllb_env_flows_query(w, &info);
    CHECK_NEAR(info.duration_sum_s, 0.25 + 0.75 * 4, 1e-12);
    rllb_env_flows_destroy(w);
}

TEST(servers_join_leave_and_fail)
{
    rllb_env_event e[4];
    rllb_env_flows_desc d = plain(4, 2, 0.5);
    rllb_env_flows_info info;
    rllb_env_flows *w;
    ends a;

    e[0] = one_event(20, RLLB_ENV_EVENT_JOIN, 3, 0);
    e[1] = one_event(40, RLLB_ENV_EVENT_LEAVE, 0, 0);
    e[2] = one_event(60, RLLB_ENV_EVENT_FAIL, 1, 1);
    e[3] = one_event(80, RLLB_ENV_EVENT_BACK, 1, 0);
    farm[3].absent = true;
    d.balancers = 3;
    d.events = e;
    d.event_count = 4;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    memset(&a, 0, sizeof a);
    rllb_env_flows_listen(w, hear, &a);
    rllb_env_flows_run(w, 20);
    CHECK_EQ_I(a.server[3], 0);
    CHECK(a.server[0] > 100);
    memset(&a, 0, sizeof a);
    rllb_env_flows_run(w, 40);
    CHECK(a.server[3] > 100);
    rllb_env_flows_run(w, 45);
    memset(&a, 0, sizeof a);
    rllb_env_flows_run(w, 60);
    CHECK_EQ_I(a.server[0], 0);
    CHECK(a.server[3] > 100);
    CHECK_EQ_I(a.fates[RLLB_ENV_FAILED], 0);
    rllb_env_flows_run(w, 80);
    CHECK(a.fates[RLLB_ENV_FAILED] > 10); /* and then the guards have ejected it */
    rllb_env_flows_query(w, &info);
    CHECK(a.fates[RLLB_ENV_FAILED] < 200);
    rllb_env_flows_run(w, 100);
    memset(&a, 0, sizeof a);
    rllb_env_flows_run(w, 120);
    CHECK_EQ_I(a.fates[RLLB_ENV_FAILED], 0);
    CHECK(a.server[1] > 100);
    rllb_env_flows_destroy(w);
}

/* A server that stands still: clients give up, the balancers hear of failures and eject it. */
TEST(a_server_stops)
{
    rllb_env_event e[2];
    rllb_env_flows_desc d = plain(5, 2, 0.5);
    rllb_env_flows_info before, after;
    rllb_env_flows *w;

    e[0] = one_event(20, RLLB_ENV_EVENT_SPEED, 2, 0);
    e[1] = one_event(60, RLLB_ENV_EVENT_BACK, 2, 0);
    d.timeout_s = 1.5;
    d.events = e;
    d.event_count = 2;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 20);
    rllb_env_flows_query(w, &before);
    CHECK_EQ_I(before.timed_out, 0);
    rllb_env_flows_run(w, 60);
    rllb_env_flows_query(w, &after);
    NOTE("%lld timed out of %lld", (long long)after.timed_out, (long long)(after.arrived - before.arrived));
    CHECK(after.timed_out > 5 && after.timed_out < 100);
    CHECK(after.abandoned > 0);
    rllb_env_flows_run(w, 80);
    rllb_env_flows_query(w, &before);
    rllb_env_flows_run(w, 120);
    rllb_env_flows_query(w, &after);
    CHECK_EQ_I(after.timed_out, before.timed_out);
    CHECK_EQ_I(after.abandoned, 0);
    rllb_env_flows_destroy(w);
}

TEST(rate_changes)
{
    rllb_env_event e[2];
    rllb_env_flows_desc d = plain(4, 4, 0.5);
    rllb_env_flows_info a, b;
    rllb_env_flows *w;

    e[0] = one_event(500, RLLB_ENV_EVENT_RATE, -7, 0.25); /* the server is not looked at */
    e[1] = one_event(1000, RLLB_ENV_EVENT_RATE, 0, 0);
    d.events = e;
    d.event_count = 2;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 500);
    rllb_env_flows_query(w, &a);
    CHECK_NEAR((double)a.arrived, 40000, 800);
    rllb_env_flows_run(w, 1000);
    rllb_env_flows_query(w, &b);
    CHECK_NEAR((double)(b.arrived - a.arrived), 10000, 400);
    rllb_env_flows_run(w, 1100);
    rllb_env_flows_query(w, &a);
    CHECK_EQ_I(a.arrived, b.arrived);
    rllb_env_flows_destroy(w);
}

/* ---- agents and oracles -------------------------------------------------------------------------------------- */

TEST(steps_for_agents)
{
    rllb_env_flows_desc d = moderate(RLLB_BALANCE_LEARNED, 0.7);
    double rewards[2] = { NOT_A_NUMBER, NOT_A_NUMBER }, shared = NOT_A_NUMBER;
    float actions[2][7] = { { 2, 2, 2, 2, 4, 4, 4 }, { 1, 1, 1, 1, 1, 1, 1 } };
    bool terminated = true, truncated = true;
    rllb_env_flows_info info;
    rllb_env_flows *w;
    int32_t observations = 0, steps = 0, i;
    const float *seen;
    rllb_counters counters;

    d.horizon_s = 10;
    d.balancer.reward = RLLB_REWARD_MEAN;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    do {
        CHECK_EQ_I(rllb_env_flows_step(w, actions[0], 7, rewards, &shared, &terminated, &truncated), RLLB_OK);
        CHECK(!terminated);
        steps++;
        rllb_env_flows_query(w, &info);
        CHECK_NEAR(info.now_s, 0.25 * steps, 1e-12);
        for (i = 0; i < 2; i++) {
            seen = rllb_balancer_observe(rllb_env_flows_balancer(w, i), &observations);
            CHECK(seen != NULL && observations == 6 * 7);
        }
    } while (!truncated && steps < 100);
    CHECK_EQ_I(steps, 40);
    NOTE("rewards %.4f %.4f, shared %.4f", rewards[0], rewards[1], shared);
    CHECK(rewards[0] < -0.02 && rewards[1] < -0.02 && shared < -0.02 && shared > -5);
    CHECK(shared >= fmin(rewards[0], rewards[1]) && shared <= fmax(rewards[0], rewards[1])); /* a weighted mean */
    rllb_balancer_counters(rllb_env_flows_balancer(w, 1), &counters);
    CHECK_EQ_U(counters.controls, 40);
    CHECK_EQ_I(rllb_env_flows_step(w, NULL, 0, NULL, NULL, NULL, NULL), RLLB_ERROR_STATE);
    rllb_env_flows_query(w, &info);
    CHECK_NEAR(info.now_s, 10, 0);
    CHECK_EQ_I(rllb_env_flows_reset(w, 5), RLLB_OK);
    actions[1][3] = (float)NOT_A_NUMBER;
    CHECK(rllb_env_flows_step(w, actions[0], 7, rewards, &shared, NULL, &truncated) != RLLB_OK);
    CHECK(!truncated);
    rllb_balancer_counters(rllb_env_flows_balancer(w, 1), &counters);
    CHECK_EQ_U(counters.controls_refused, 1);
    rllb_balancer_counters(rllb_env_flows_balancer(w, 0), &counters);
    CHECK_EQ_U(counters.controls, 1);
    CHECK(rllb_env_flows_step(w, actions[0], 6, NULL, NULL, NULL, NULL) != RLLB_OK);
    CHECK_EQ_I(rllb_env_flows_step(w, actions[0], 0, NULL, NULL, NULL, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_step(w, NULL, 0, NULL, NULL, NULL, NULL), RLLB_OK);
    CHECK_EQ_I(rllb_env_flows_step(NULL, NULL, 0, NULL, NULL, NULL, NULL), RLLB_ERROR_ARGUMENT);
    rllb_env_flows_destroy(w);
}

/* A controller that counts how often it was asked, and wants all of its balancer's flows at one server. */
typedef struct steerer {
    int32_t asked, server;
} steerer;

static void steer(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    steerer *s = (steerer *)self;
    int32_t i;

    (void)observation;
    (void)observations;
    s->asked++;
    for (i = 0; i < actions; i++) action[i] = i == s->server ? 1.0f : 0.0f;
}

/* The server that balancer i sends the most to. */
static int32_t favourite(rllb_env_flows *w, int32_t balancer)
{
    rllb_server_info info;
    uint64_t most = 0;
    int32_t j, best = -1;

    for (j = 0; rllb_balancer_server(rllb_env_flows_balancer(w, balancer), j, &info) == RLLB_OK; j++) {
        if (info.picks <= most) continue;
        most = info.picks;
        best = j;
    }
    return best;
}

TEST(controllers_of_their_own)
{
    rllb_env_flows_desc d = moderate(RLLB_BALANCE_LEARNED, 0.3), without = d;
    steerer s[3] = { { 0, 4 }, { 0, 5 }, { 0, 6 } }, all = { 0, 4 };
    void *selves[3] = { &s[0], &s[1], &s[2] };
    rllb_env_flows *w;
    int32_t i;

    d.balancers = without.balancers = 3;
    d.balancer.control = without.balancer.control = steer;
    d.balancer.control_self = without.balancer.control_self = &all;
    d.balancer.guard.rate = d.balancer.guard.ceiling = RLLB_OFF;
    d.controls = selves;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    memset(selves, 0, sizeof selves); /* the world has copied them */
    rllb_env_flows_run(w, 20);
    for (i = 0; i < 3; i++) {
        CHECK_EQ_I(s[i].asked, 80);
        CHECK_EQ_I(favourite(w, i), 4 + i);
    }
    CHECK_EQ_I(rllb_env_flows_reset(w, 2), RLLB_OK);
    rllb_env_flows_run(w, 1);
    for (i = 0; i < 3; i++) CHECK_EQ_I(s[i].asked, 84);
    CHECK_EQ_I(all.asked, 0);
    rllb_env_flows_destroy(w);
    w = rllb_env_flows_create(&without);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 20);
    CHECK_EQ_I(all.asked, 240);
    rllb_env_flows_destroy(w);
}

/* The step length is a tick of the balancers whatever it is, a float or not. */
TEST(every_step_is_a_tick)
{
    static const double lengths[] = { 0.25, 0.1, 0.3, 1.0 / 3, 0.007 };
    rllb_env_flows_desc d = moderate(RLLB_BALANCE_LEARNED, 0.5);
    rllb_counters counters;
    rllb_env_flows *w;
    float action[14];
    int i, step;

    for (i = 0; i < 14; i++) action[i] = 1;
    for (i = 0; i < 5; i++) {
        bool truncated = false;
        d.step_s = lengths[i];
        d.horizon_s = 100 * lengths[i];
        w = rllb_env_flows_create(&d);
        REQUIRE(w != NULL);
        for (step = 0; !truncated; step++) {
            CHECK_EQ_I(rllb_env_flows_step(w, action, 7, NULL, NULL, NULL, &truncated), RLLB_OK);
        }
        CHECK_EQ_I(step, 100);
        rllb_balancer_counters(rllb_env_flows_balancer(w, 0), &counters);
        CHECK_EQ_U(counters.controls, 100);
        rllb_env_flows_destroy(w);
    }
}

TEST(oracles_see_further)
{
    rllb_env_flows_desc d = moderate(RLLB_BALANCE_WCMP, 0.8);
    double wcmp, sed, gsq, srt, oracle;

    d.balancers = 8;
    wcmp = means(&d, 20, 200).mean;
    d.balancer.policy = RLLB_BALANCE_SED;
    sed = means(&d, 20, 200).mean;
    d.balancer.policy = RLLB_BALANCE_GSQ;
    gsq = means(&d, 20, 200).mean;
    d.balancer.policy = RLLB_BALANCE_SRT;
    srt = means(&d, 20, 200).mean;
    d.balancer.policy = RLLB_BALANCE_SED_ORACLE;
    oracle = means(&d, 20, 200).mean;
    NOTE("8 balancers: wcmp %.4f, sed %.4f, gsq %.4f, srt %.4f, sed over all queues %.4f", wcmp, sed, gsq, srt, oracle);
    CHECK(gsq < 0.8 * wcmp);
    CHECK(srt < gsq);
    CHECK(oracle < gsq);
    CHECK(oracle < sed && sed < wcmp);
}

/* What a server has yet to do, by the world's own account, against what it then takes when nothing more comes. */
TEST(residual_time_is_what_it_takes)
{
    rllb_env_event e = one_event(50, RLLB_ENV_EVENT_RATE, 0, 0);
    rllb_env_flows_desc d = plain(1, 1, 0.9);
    rllb_env_flows_info info;
    rllb_env_flows *w;
    double residual_s = 0;
    ends a;
    int active;

    for (active = 1; active <= 64; active *= 8) {
        d.events = &e;
        d.event_count = 1;
        d.law = RLLB_ENV_LOGNORMAL;
        farm[0].active = active;
        farm[0].speed = 1.5f;
        d.rate = 14.5;
        w = rllb_env_flows_create(&d);
        REQUIRE(w != NULL);
        memset(&a, 0, sizeof a);
        rllb_env_flows_listen(w, hear, &a);
        rllb_env_flows_run(w, 50);
        rllb_env_flows_server(w, 0, NULL, NULL, &residual_s);
        rllb_env_flows_run(w, 1000);
        rllb_env_flows_query(w, &info);
        NOTE("%d active: residual %.4f s", active, residual_s);
        CHECK_EQ_I(info.in_flight, 0);
        CHECK(residual_s > 0);
        CHECK_NEAR(a.last_s - 50, residual_s, 1e-9);
        rllb_env_flows_destroy(w);
    }
}

/* Running flows are sampled: a balancer learns of a server that stands still before anything has ended there. */
TEST(samples_of_running_flows)
{
    rllb_env_event e = one_event(0, RLLB_ENV_EVENT_SPEED, 0, 0);
    rllb_env_flows_desc d = plain(1, 1, 0.5);
    rllb_env_flows *w;
    const float *seen;
    int32_t observations;

    d.balancer.policy = RLLB_BALANCE_LEARNED;
    d.sample_s = 0.05;
    d.events = &e;
    d.event_count = 1;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 3);
    seen = rllb_balancer_observe(rllb_env_flows_balancer(w, 0), &observations);
    REQUIRE(seen != NULL && observations == 6);
    NOTE("in flight %.0f, mean duration so far %.3f", (double)seen[0], (double)seen[1]);
    CHECK(seen[0] > 3);
    CHECK(seen[1] > 0.3f && seen[1] < 3);
    rllb_env_flows_destroy(w);
}

/* ---- presets ------------------------------------------------------------------------------------------------- */

/* What each can do in flows per second, by hand, and the load that it comes with. */
TEST(presets_are_what_they_say)
{
    static const struct {
        const char *name;
        int32_t count, balancers;
        double capacity, load;
    } known[] = {
        { "seed4-a", 2, 1, 6 / 0.1, 0.8 },
        { "seed4-b", 4, 2, 12 / 0.2, 0.7 },
        { "moderate", 7, 2, 20 / 0.0238, 0.870 },
        { "large", 24, 6, 144 * 0.65 / 0.2, 0.896 },
        { "degraded", 7, 1, (3 * 2 + 2 * 0.3 + 2 * 4 + 4 * 0.3) / 0.025, 0.823 },
        { "fleet", 24, 6, 144 * (0.6 + 1 + 1.5) / 3 / 0.2, 0.843 },
    };
    int32_t i;

    CHECK_EQ_I(sizeof known / sizeof *known, RLLB_ENV_PRESET_NUM);
    for (i = 0; i < RLLB_ENV_PRESET_NUM; i++) {
        rllb_env_preset preset = (rllb_env_preset)i;
        rllb_env_flows_desc d;
        rllb_env_flows_info info;
        rllb_env_flows *w;
        CHECK_STR(rllb_env_preset_name(preset), known[i].name);
        CHECK_EQ_I(rllb_env_preset_of(known[i].name), i);
        REQUIRE(rllb_env_flows_preset(preset, &d) == RLLB_OK);
        CHECK_EQ_I(d.count, known[i].count);
        CHECK_EQ_I(d.balancers, known[i].balancers);
        CHECK_REL(rllb_env_flows_capacity(&d), known[i].capacity, 1e-6);
        CHECK_NEAR(d.rate / rllb_env_flows_capacity(&d), known[i].load, 0.0005);
        w = rllb_env_flows_create(&d);
        REQUIRE(w != NULL);
        CHECK_EQ_I(rllb_env_flows_run(w, 5), RLLB_OK);
        rllb_env_flows_query(w, &info);
        CHECK(info.completed > 100);
        CHECK_EQ_I(info.arrived, info.completed + info.rejected + info.in_flight);
        rllb_env_flows_destroy(w);
    }
    CHECK_EQ_I(rllb_env_preset_of("seed4"), -1);
    CHECK_EQ_I(rllb_env_preset_of(NULL), -1);
    CHECK(rllb_env_preset_name(RLLB_ENV_PRESET_NUM) == NULL);
    CHECK(rllb_env_preset_name((rllb_env_preset)-1) == NULL);
}

/* What the comments say of them: who is slow, who is told so, and that seed4-b may have eight servers. */
TEST(presets_hold_their_secrets)
{
    rllb_env_flows_desc d;
    rllb_server_info info;
    rllb_env_flows *w;
    int32_t i, slow = 0;

    REQUIRE(rllb_env_flows_preset(RLLB_ENV_PRESET_DEGRADED, &d) == RLLB_OK);
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    for (i = 0; i < d.count; i++) {
        slow += d.servers[i].speed > 0 && d.servers[i].speed < 0.5f;
        REQUIRE(rllb_balancer_server(rllb_env_flows_balancer(w, 0), i, &info) == RLLB_OK);
        CHECK_NEAR((double)info.weight, i < 4 ? 2 : 4, 0);
    }
    CHECK_EQ_I(slow, 2);
    rllb_env_flows_destroy(w);
    REQUIRE(rllb_env_flows_preset(RLLB_ENV_PRESET_SEED4_B, &d) == RLLB_OK);
    d.count = 8;
    CHECK_REL(rllb_env_flows_capacity(&d), 24 / 0.2, 1e-6);
    w = rllb_env_flows_create(&d);
    CHECK(w != NULL);
    rllb_env_flows_destroy(w);
}

TEST(capacity_is_that_of_what_is_there)
{
    rllb_env_flows_desc d = plain(2, 4, 0.5);

    farm[1].speed = 0.5f;
    d.rate = 0;
    CHECK_REL(rllb_env_flows_capacity(&d), (4 + 2) / 0.1, 1e-6);
    d.io = 0.25; /* the disk of each does 1 / 0.025 = 40 a second, its CPUs 53.3 and 26.7 */
    CHECK_REL(rllb_env_flows_capacity(&d), 40 + 2 / 0.075, 1e-6);
    farm[0].absent = true;
    CHECK_REL(rllb_env_flows_capacity(&d), 2 / 0.075, 1e-6);
    d.io = 1;
    CHECK_NEAR(rllb_env_flows_capacity(&d), 0, 0);
    CHECK_NEAR(rllb_env_flows_capacity(NULL), 0, 0);
    CHECK_EQ_I(rllb_env_flows_preset(RLLB_ENV_PRESET_NUM, &d), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_env_flows_preset(RLLB_ENV_PRESET_FLEET, NULL), RLLB_ERROR_ARGUMENT);
}
