/* Tests of the metrics world of rllb_env.h: the published one against its known returns, the honest one against its own
   definition: what is seen and when, what flows, tenants and memory do, and what a step costs. Bounds on random figures
   are five standard errors, or say what they are. */

#define RLLB_IMPLEMENTATION
#include "rllb_env.h"

#include "test.h"

#include <stdlib.h>

/* ---- helpers ----------------------------------------------------------------------------------------------- */

typedef struct batch {
    rllb_env_metrics *env;
    rllb_env_metrics_desc d;
    int32_t *action;
    float *reward;
    uint8_t *truncated;
} batch;

static batch batch_open(const rllb_env_metrics_desc *d)
{
    batch b;

    memset(&b, 0, sizeof b);
    b.env = rllb_env_metrics_create(d);
    rllb_env_metrics_query(b.env, &b.d);
    b.action = (int32_t *)calloc((size_t)b.d.environments, sizeof *b.action);
    b.reward = (float *)calloc((size_t)b.d.environments, sizeof *b.reward);
    b.truncated = (uint8_t *)calloc((size_t)b.d.environments, 1);
    return b;
}

static int32_t batch_step(batch *b)
{
    return rllb_env_metrics_step(b->env, b->action, b->reward, b->truncated);
}

static void batch_close(batch *b)
{
    rllb_env_metrics_destroy(b->env);
    free(b->action);
    free(b->reward);
    free(b->truncated);
}

static rllb_env_metrics_desc honest(void)
{
    rllb_env_metrics_desc d;

    rllb_env_metrics_desc_default(&d);
    d.mode = RLLB_ENV_METRICS_HONEST;
    d.seed = 11;
    return d;
}

/* Nobody else on the clients, every sample arrives: what happens is the allocator's doing. */
static rllb_env_metrics_desc alone(void)
{
    rllb_env_metrics_desc d = honest();

    d.tenant[0] = d.tenant[1] = d.tenant[2] = d.noise = d.missed = -1;
    return d;
}

static rllb_env_metrics_state state_of(const batch *b, int32_t e, int32_t i)
{
    rllb_env_metrics_state s;

    memset(&s, 0, sizeof s);
    rllb_env_metrics_query_client(b->env, e, i, &s);
    return s;
}

/* An action that is a function of environment and step alone, so that any split into batches replays it. */
static int32_t scripted(int32_t e, int32_t step, int32_t n)
{
    uint32_t x = (uint32_t)e * 2654435761u + (uint32_t)step * 40503u;
    x ^= x >> 15;
    x *= 2246822519u;
    return (int32_t)((x >> 13) % (uint32_t)n);
}

enum { RANDOM, BEST, TURNS, LEAST };

/* Returns of one episode in every environment; LEAST goes by a column of what is seen. */
static void play(batch *b, int32_t how, int32_t column, double *returns)
{
    rllb_rng r;
    int32_t t, e, i;

    rllb_rng_init(&r, 99, 0);
    rllb_env_metrics_reset_seed(b->env, b->d.seed, b->d.stream);
    for (e = 0; e < b->d.environments; e++) returns[e] = 0;
    for (t = 0; t < b->d.horizon; t++) {
        for (e = 0; e < b->d.environments; e++) {
            const float *rows = rllb_env_metrics_observe(b->env) + e * b->d.clients * b->d.columns;
            int32_t best = 0;
            for (i = 1; i < b->d.clients; i++) {
                if (rows[i * b->d.columns + column] < rows[best * b->d.columns + column]) best = i;
            }
            b->action[e] = how == BEST ? rllb_env_metrics_best(b->env, e) : how == TURNS ? t % b->d.clients : best;
            if (how == RANDOM) b->action[e] = rllb_rng_below(&r, b->d.clients);
        }
        batch_step(b);
        for (e = 0; e < b->d.environments; e++) returns[e] += (double)b->reward[e];
    }
}

/* ---- the published world ------------------------------------------------------------------------------------- */

/* A uniform number has the variance 1/12, the least of n of them n / ((n + 1)^2 (n + 2)). */
static void known_returns(int32_t clients)
{
    enum { EPISODES = 2000 };
    static double returns[EPISODES];
    double n = clients, se_random = sqrt(200.0 / 12 / EPISODES);
    double se_best = sqrt(200 * n / ((n + 1) * (n + 1) * (n + 2)) / EPISODES);
    rllb_env_metrics_desc d;
    rllb_stats random = { 0, 0, 0, 0, 0, 0 }, best = { 0, 0, 0, 0, 0, 0 };
    batch b;
    int32_t e;

    rllb_env_metrics_desc_default(&d);
    d.environments = EPISODES;
    d.clients = clients;
    d.seed = 3;
    b = batch_open(&d);
    play(&b, RANDOM, 0, returns);
    for (e = 0; e < EPISODES; e++) rllb_stats_add(&random, returns[e]);
    play(&b, BEST, 0, returns);
    for (e = 0; e < EPISODES; e++) rllb_stats_add(&best, returns[e]);
    NOTE("%d clients: random %.3f, best %.3f", (int)clients, random.mean, best.mean);
    CHECK_NEAR(random.mean, -100, 5 * se_random);
    CHECK_NEAR(best.mean, -200 / (n + 1), 5 * se_best);
    batch_close(&b);
}

TEST(random_policy_minus_100_and_optimal_minus_50)
{
    known_returns(3);
    known_returns(5);
}

TEST(original_draws_anew_whatever_is_done)
{
    rllb_env_metrics_desc d;
    float now[9], low = 1, high = 0;
    batch a, b;
    int32_t t, i;

    rllb_env_metrics_desc_default(&d);
    a = batch_open(&d);
    b = batch_open(&d);
    CHECK_EQ_I(a.d.clients, 3);
    CHECK_EQ_I(a.d.columns, 3);
    CHECK_EQ_I(a.d.horizon, 200);
    for (t = 0; t < 200; t++) {
        memcpy(now, rllb_env_metrics_observe(a.env), sizeof now);
        a.action[0] = t % 3;
        b.action[0] = 2;
        CHECK_EQ_I(batch_step(&a), t == 199);
        batch_step(&b);
        CHECK_NEAR(a.reward[0], -now[a.action[0] * 3 + RLLB_ENV_NETWORK], 0);
        CHECK_NEAR(b.reward[0], -now[2 * 3 + RLLB_ENV_NETWORK], 0);
        CHECK_EQ_I(a.truncated[0], t == 199);
        CHECK_MEM(rllb_env_metrics_observe(a.env), rllb_env_metrics_observe(b.env), sizeof now);
        CHECK(memcmp(rllb_env_metrics_observe(a.env), now, sizeof now) != 0);
        for (i = 0; i < 9; i++) {
            low = fminf(low, now[i]);
            high = fmaxf(high, now[i]);
        }
    }
    CHECK(low >= 0 && low < 0.01f && high > 0.99f && high < 1);
    CHECK_EQ_I(batch_step(&a), 0); /* it stands still */
    CHECK_EQ_I(a.truncated[0], 1);
    CHECK_NEAR(a.reward[0], 0, 0);
    CHECK_MEM(rllb_env_metrics_observe(a.env), rllb_env_metrics_observe(b.env), sizeof now);
    batch_close(&a);
    batch_close(&b);
}

/* ---- both ---------------------------------------------------------------------------------------------------- */

static void a_batch_is_so_many_alone(rllb_env_metrics_desc d)
{
    enum { E = 5 };
    batch all, one[E];
    size_t row;
    int32_t t, e;

    d.environments = E;
    d.horizon = 30;
    d.stream = 40;
    all = batch_open(&d);
    row = (size_t)(all.d.clients * all.d.columns);
    d.environments = 1;
    for (e = 0; e < E; e++) {
        d.stream = 40 + (uint64_t)e;
        one[e] = batch_open(&d);
    }
    for (t = 0; t < 70; t++) {
        for (e = 0; e < E; e++) {
            all.action[e] = scripted(e, t, all.d.clients);
            one[e].action[0] = all.action[e];
            batch_step(&one[e]);
        }
        batch_step(&all);
        for (e = 0; e < E; e++) {
            const float *seen = rllb_env_metrics_observe(all.env) + (size_t)e * row;
            const float *next = rllb_env_metrics_observe_next(all.env) + (size_t)e * row;
            CHECK_MEM(seen, rllb_env_metrics_observe(one[e].env), row * sizeof *seen);
            CHECK_MEM(next, rllb_env_metrics_observe_next(one[e].env), row * sizeof *next);
            CHECK_MEM(&all.reward[e], one[e].reward, sizeof(float));
            CHECK_EQ_I(all.truncated[e], one[e].truncated[0]);
            CHECK_EQ_I(all.truncated[e], d.auto_reset ? t % 30 == 29 : t >= 29);
            CHECK_EQ_I(memcmp(seen, next, row * sizeof *seen) != 0, d.auto_reset && t % 30 == 29);
        }
    }
    batch_close(&all);
    for (e = 0; e < E; e++) batch_close(&one[e]);
}

TEST(environments_do_not_know_of_each_other)
{
    rllb_env_metrics_desc d = honest();

    a_batch_is_so_many_alone(d);
    d.auto_reset = true;
    d.clients = 4;
    a_batch_is_so_many_alone(d);
    rllb_env_metrics_desc_default(&d);
    a_batch_is_so_many_alone(d);
    d.auto_reset = true;
    a_batch_is_so_many_alone(d);
}

TEST(a_seed_is_a_history)
{
    rllb_env_metrics_desc d = honest();
    double first[4], again[4], other[4];
    batch b;

    d.environments = 4;
    b = batch_open(&d);
    play(&b, TURNS, 0, first);
    play(&b, RANDOM, 0, other);
    play(&b, TURNS, 0, again);
    CHECK_MEM(again, first, sizeof first);
    b.d.seed++;
    play(&b, TURNS, 0, other);
    CHECK(other[0] < first[0] || other[0] > first[0]);
    batch_close(&b);
}

/* ---- what flows do ------------------------------------------------------------------------------------------- */

TEST(flows_bring_the_load_that_the_descriptor_says)
{
    static const rllb_env_metrics_client same[3] = { { 2, 8, 50 }, { 2, 8, 50 }, { 2, 8, 50 } };
    rllb_env_metrics_desc d = alone();
    double sum[4] = { 0, 0, 0, 0 };
    batch b;
    int32_t t, e, i;

    d.capacity = same;
    d.environments = 100;
    d.horizon = 900;
    d.buffer_s = 100; /* nothing gets lost */
    b = batch_open(&d);
    for (t = 0; t < 900; t++) {
        for (e = 0; e < 100; e++) b.action[e] = t % 3;
        batch_step(&b);
        for (e = 0; t >= 100 && e < 100; e++) {
            for (i = 0; i < 3; i++) {
                rllb_env_metrics_state s = state_of(&b, e, i);
                sum[0] += (double)s.cpu / 240000;
                sum[1] += (double)s.memory / 240000;
                sum[2] += (double)s.network / 240000;
                sum[3] += (double)s.lost;
            }
        }
    }
    NOTE("cpu %.4f memory %.4f network %.4f", sum[0], sum[1], sum[2]);
    /* 80,000 flows of exponential size: the standard error of the mean is 0.35 % of it. Memory counts flows: after the
       decay of a step, when it is looked at no more, 0.4 + 0.25 is what it tends to. */
    CHECK_NEAR(sum[0], 0.35, 0.007);
    CHECK_NEAR(sum[2], 0.35, 0.007);
    CHECK_NEAR(sum[1], 0.65, 0.005);
    CHECK_NEAR(sum[3], 0, 0);
    batch_close(&b);
}

/* Everything to one client; reward and means recomputed from what the clients say. */
TEST(too_much_waits_then_is_lost_and_costs)
{
    rllb_env_metrics_desc d = alone();
    double worst = 0, lost = 0, waits = 0, keep;
    batch b;
    int32_t t, e, i;

    d.load[0] = d.load[2] = 0.8f;
    d.load[1] = -1; /* memory stays as it is */
    d.environments = 40;
    b = batch_open(&d);
    keep = exp(-b.d.step_s / b.d.service_s);
    for (t = 0; t < 200; t++) {
        batch_step(&b);
        for (e = 0; e < 40; e++) {
            double delay = 0, gone = 0, flows = 0;
            for (i = 0; i < 3; i++) {
                rllb_env_metrics_state s = state_of(&b, e, i);
                double n = (double)s.flows / keep; /* before they decayed */
                delay += n * (double)s.delay_s;
                gone += n * (double)s.lost;
                flows += n;
                waits = fmax(waits, (double)s.waiting_s);
                CHECK(s.cpu >= 0 && s.cpu <= 1.0001f && s.network >= 0 && s.network <= 1.0001f);
                CHECK(s.lost >= 0 && s.lost <= 1);
            }
            worst = fmax(worst, fabs(delay / flows - (double)rllb_env_metrics_delay(b.env)[e]));
            worst = fmax(worst, fabs(gone / flows - (double)rllb_env_metrics_lost(b.env)[e]));
            worst = fmax(worst, fabs((double)b.reward[e] + delay / flows + gone / flows));
            if (t >= 50) lost += (double)rllb_env_metrics_lost(b.env)[e] / 6000;
        }
    }
    NOTE("%.3f lost, at most %.3f s wait", lost, waits);
    CHECK_NEAR(worst, 0, 1e-4);
    /* It gets 7.2 cores' worth in the mean and has 2, 180 MB/s and has 100: of steady flows 1 - 2 / 7.2 * 100 / 180 =
       0.846 would be lost, and of flows of exponential size a little less. */
    CHECK(lost > 0.78 && lost < 0.846);
    CHECK_NEAR(waits, 2 * b.d.buffer_s, 1e-3);
    CHECK_NEAR(state_of(&b, 0, 1).cpu, 0, 0); /* the others have nothing to do */
    CHECK_NEAR(state_of(&b, 0, 1).delay_s, 2 * b.d.hop_s, 1e-6);
    batch_close(&b);
}

TEST(a_client_without_memory_computes_slower)
{
    static const rllb_env_metrics_client has[2] = { { 4, 4, 100 }, { 4, 4, 100 } };
    rllb_env_metrics_desc d = alone();
    double roomy = 0, full = 0;
    batch b;
    int32_t t;

    d.clients = 2;
    d.capacity = has;
    d.load[0] = 0.9f; /* of eight cores, all on one client of four */
    d.load[1] = -1;
    d.base_memory = 0.9f;
    b = batch_open(&d);
    for (t = 0; t < 200; t++) batch_step(&b), roomy = fmax(roomy, (double)state_of(&b, 0, 0).cpu);
    batch_close(&b);
    d.base_memory = 1;
    b = batch_open(&d);
    for (t = 0; t < 200; t++) batch_step(&b), full = fmax(full, (double)state_of(&b, 0, 0).cpu);
    batch_close(&b);
    CHECK_NEAR(roomy, 1, 1e-4);
    CHECK_NEAR(full, 0.25, 1e-4);
}

/* ---- tenants ------------------------------------------------------------------------------------------------- */

TEST(tenants_come_and_go_whatever_the_allocator_does)
{
    rllb_env_metrics_desc d = honest();
    double busy = 0, both = 0;
    batch a, b;
    int32_t t, e;

    d.environments = 50;
    d.horizon = 1000;
    d.noise = -1;
    a = batch_open(&d);
    b = batch_open(&d);
    for (t = 0; t < 1000; t++) {
        for (e = 0; e < 50; e++) {
            a.action[e] = scripted(e, t, 2); /* never the third: there is nobody but the tenants */
            b.action[e] = 0;
        }
        batch_step(&a);
        batch_step(&b);
        for (e = 0; e < 50; e++) {
            rllb_env_metrics_state s = state_of(&a, e, 2), other = state_of(&b, e, 2);
            CHECK_MEM(&s, &other, sizeof s);
            busy += s.cpu > 0.5f;
            both += s.cpu > 0.5f && s.network > 0.5f;
            CHECK(s.cpu < 0.001f || fabsf(s.cpu - 0.6f) < 0.001f);
        }
    }
    /* 50 times 250 s, of which a visit and a pause take 30: some 400 of them. Shares of time then have a standard error
       of about 0.02; the two tenants of a client know nothing of each other. */
    NOTE("computes %.3f of the time, with transfers %.3f", busy / 50000, both / 50000);
    CHECK_NEAR(busy / 50000, 1.0 / 3, 0.08);
    CHECK_NEAR(both / 50000, 1.0 / 9, 0.06);
    batch_close(&a);
    batch_close(&b);
}

TEST(noise_has_the_deviation_it_should)
{
    rllb_env_metrics_desc d = alone();
    rllb_stats s = { 0, 0, 0, 0, 0, 0 };
    batch b;
    int32_t t, e;

    d.environments = 500;
    d.tenant[0] = 0.5f;
    d.tenant_on_s = 1e6; /* as good as always there, */
    d.tenant_off_s = 1e-6;
    d.noise = 0.05f;
    b = batch_open(&d);
    for (t = 0; t < 200; t++) {
        batch_step(&b);
        for (e = 0; t % 20 == 0 && e < 500; e++) rllb_stats_add(&s, (double)state_of(&b, e, 2).cpu);
    }
    NOTE("mean %.4f, deviation %.4f", s.mean, rllb_stats_stddev(&s));
    CHECK_NEAR(s.mean, 0.5, 0.006); /* 5,000 numbers; those 5 s apart still know each other a little */
    CHECK_NEAR(rllb_stats_stddev(&s), 0.05, 0.004);
    batch_close(&b);
}

/* ---- what is seen -------------------------------------------------------------------------------------------- */

/* A sample every 8 steps, seen 3 steps later, with the flows since; network is the mean since the last one. */
TEST(metrics_are_late_and_say_how_late)
{
    rllb_env_metrics_desc d = honest();
    double carried[3][400];
    float held[3][400], before[15];
    int32_t sent[3] = { 0, 0, 0 }, at[3] = { -1, -1, -1 }, t, i, k, fresh = 0;
    batch b;

    d.interval_s = 2;
    d.delay_s = 0.75;
    d.missed = -1;
    d.horizon = 400;
    b = batch_open(&d);
    CHECK_EQ_I(b.d.columns, 5);
    memcpy(before, rllb_env_metrics_observe(b.env), sizeof before);
    for (t = 0; t < 400; t++) {
        b.action[0] = scripted(1, t, 3);
        batch_step(&b);
        for (i = 0; i < 3; i++) {
            const float *row = rllb_env_metrics_observe(b.env) + 5 * i;
            int32_t age = (int32_t)(row[RLLB_ENV_AGE] * 8 + 0.5f);
            rllb_env_metrics_state s = state_of(&b, 0, i);
            carried[i][t] = (double)s.network;
            held[i][t] = s.memory;
            if (age == 3 && t > 2) { /* it has just come, and was taken at the end of step t - 3 */
                double mean = 0;
                for (k = 0; t >= 10 && k < 8; k++) mean += carried[i][t - 3 - k] / 8;
                if (t >= 10) CHECK_NEAR(row[RLLB_ENV_NETWORK], mean, 1e-5);
                CHECK_NEAR(row[RLLB_ENV_MEMORY], held[i][t - 3], 0);
                CHECK(at[i] < 0 || t - at[i] == 8);
                at[i] = t;
                fresh++;
            } else {
                CHECK_MEM(row, before + 5 * i, 3 * sizeof *row);
            }
            CHECK(age >= (t < 11 ? 1 : 3) && age <= 10);
            memcpy(before + 5 * i, row, 5 * sizeof *row);
            /* Flows since: those of the last `age` steps. */
            sent[i] = 0;
            for (k = 0; k < age && k <= t; k++) sent[i] += scripted(1, t - k, 3) == i;
            CHECK_NEAR(row[RLLB_ENV_SENT] * 8, sent[i], 1e-5);
        }
    }
    CHECK(fresh >= 3 * 49 && fresh <= 3 * 50);
    batch_close(&b);
}

TEST(cpu_follows_with_its_time_constant)
{
    rllb_env_metrics_desc d = honest();
    double rate = 1 - exp(-0.25 / 3), follows;
    batch b;
    int32_t t;

    d.cpu_s = 3;
    d.interval_s = d.step_s = 0.25;
    d.delay_s = -1; /* seen at once */
    d.missed = -1;
    b = batch_open(&d);
    follows = (double)rllb_env_metrics_observe(b.env)[RLLB_ENV_CPU];
    for (t = 0; t < 200; t++) {
        b.action[0] = t % 3;
        batch_step(&b);
        follows += rate * ((double)state_of(&b, 0, 0).cpu - follows);
        CHECK_NEAR(rllb_env_metrics_observe(b.env)[RLLB_ENV_CPU], follows, 1e-5);
        CHECK_NEAR(rllb_env_metrics_observe(b.env)[RLLB_ENV_NETWORK], state_of(&b, 0, 0).network, 1e-6);
        CHECK_NEAR(rllb_env_metrics_observe(b.env)[RLLB_ENV_AGE], 0, 0);
    }
    batch_close(&b);
}

TEST(samples_that_are_missed_make_metrics_older)
{
    rllb_env_metrics_desc d = honest();
    int32_t t, e, late = 0, most = 0;
    batch b;

    d.environments = 200;
    d.missed = 0.2f;
    b = batch_open(&d);
    for (t = 0; t < 200; t++) {
        batch_step(&b);
        for (e = 0; t >= 40 && e < 200; e++) {
            int32_t age = (int32_t)(rllb_env_metrics_observe(b.env)[e * 15 + RLLB_ENV_AGE] * 4 + 0.5f);
            late += age > 4;
            most = age > most ? age : most;
        }
    }
    /* Without misses ages run from 1 to 4 steps; each number of misses m adds 4 m with probability 0.8 * 0.2^m, so that
       0.2 of the time one is older; 6,400 intervals of clients that know nothing of each other. */
    NOTE("late %.4f", late / 32000.0);
    CHECK_NEAR(late / 32000.0, 0.2, 5 * sqrt(0.16 / 6400) * 1.5);
    CHECK(most > 12 && most <= 16); /* cut at 4 intervals */
    batch_close(&b);
}

/* ---- policies ------------------------------------------------------------------------------------------------ */

/* Paired, 99.99 % confidence (t of 199 degrees of freedom: 3.97). */
static void better(const double *a, const double *b, const char *what)
{
    rllb_stats s = { 0, 0, 0, 0, 0, 0 };
    int32_t e;

    for (e = 0; e < 200; e++) rllb_stats_add(&s, a[e] - b[e]);
    NOTE("%s: by %.2f", what, s.mean);
    CHECK(s.mean > 3.97 * rllb_stats_stddev(&s) / sqrt(200));
}

TEST(who_sees_all_is_ahead_and_herding_by_late_metrics_is_not)
{
    static double best[200], turns[200], random[200], least[200];
    rllb_env_metrics_desc d = honest();
    batch b;

    d.environments = 200;
    b = batch_open(&d);
    play(&b, BEST, 0, best);
    play(&b, TURNS, 0, turns);
    play(&b, RANDOM, 0, random);
    better(best, turns, "best over round robin");
    better(turns, random, "round robin over random");
    play(&b, LEAST, RLLB_ENV_CPU, least);
    better(turns, least, "round robin over the least CPU");
    play(&b, LEAST, RLLB_ENV_NETWORK, least);
    better(best, least, "best over the least network");
    batch_close(&b);
}

/* ---- the interface ------------------------------------------------------------------------------------------- */

static bool refused(const rllb_env_metrics_desc *d)
{
    static unsigned char memory[65536];
    rllb_env_metrics *w = NULL;

    return rllb_env_metrics_size(d) == 0 && rllb_env_metrics_create(d) == NULL &&
           rllb_env_metrics_init(d, memory, sizeof memory, &w) == RLLB_ERROR_ARGUMENT && w == NULL;
}

TEST(wrong_descriptors_are_refused)
{
    static const rllb_env_metrics_client none[3] = { { 1, 1, 1 }, { 1, 0, 1 }, { 1, 1, 1 } };
    static const int32_t wrong[] = { -1, 1 << 30 };
    rllb_env_metrics_desc d;
    size_t i;

#define REFUSED(change) do { d = honest(); change; CHECK(refused(&d)); } while (0)
    for (i = 0; i < 2; i++) {
        REFUSED(d.environments = wrong[i]);
        REFUSED(d.clients = wrong[i]);
        REFUSED(d.columns = wrong[i]);
    }
    REFUSED(d.horizon = -1);
    REFUSED(d.mode = (rllb_env_metrics_mode)7);
    REFUSED(d.columns = 4);
    REFUSED((d.mode = RLLB_ENV_METRICS_ORIGINAL, d.columns = 5));
    REFUSED(d.capacity = none);
    REFUSED(d.load[1] = (float)NAN);
    REFUSED(d.noise = (float)INFINITY);
    REFUSED(d.service_s = (double)NAN);
    REFUSED(d.service_s = -1);
    REFUSED(d.step_s = -1);
    REFUSED(d.tenant_on_s = -1);
    REFUSED(d.noise_s = -1);
    REFUSED(d.missed = 1);
    REFUSED(d.interval_s = 0.1);
    REFUSED(d.delay_s = 1.5);
    REFUSED(d.hop_s = (double)INFINITY);
#undef REFUSED
    CHECK(rllb_env_metrics_size(NULL) == 0);
    d = honest();
    CHECK(!refused(&d));
}

TEST(memory_of_the_caller_and_wrong_arguments)
{
    static unsigned char memory[65536];
    rllb_env_metrics_desc d = honest(), q;
    rllb_env_metrics_state s;
    rllb_env_metrics *w = NULL;
    size_t size = rllb_env_metrics_size(&d);
    int32_t action = 3;
    float reward = 0;
    uint8_t truncated = 0;

    REQUIRE(size > 0 && size <= sizeof memory);
    CHECK_EQ_I(rllb_env_metrics_init(&d, memory, size - 1, &w), RLLB_ERROR_MEMORY_SIZE);
    CHECK_EQ_I(rllb_env_metrics_init(&d, memory, size, NULL), RLLB_ERROR_ARGUMENT);
    REQUIRE(rllb_env_metrics_init(&d, memory, size, &w) == RLLB_OK);
    rllb_env_metrics_query(w, &q);
    CHECK_NEAR(q.capacity[0].cpu, 2, 0);
    CHECK_NEAR(q.capacity[1].cpu, 3, 0);
    CHECK_NEAR(q.capacity[2].network, 50, 0);
    CHECK_NEAR(q.load[0], 0.35, 1e-6);
    CHECK_NEAR(q.interval_s, 1, 0);
    CHECK_EQ_I(rllb_env_metrics_step(w, &action, &reward, &truncated), -1);
    action = -1;
    CHECK_EQ_I(rllb_env_metrics_step(w, &action, &reward, &truncated), -1);
    action = 0;
    CHECK_EQ_I(rllb_env_metrics_step(w, NULL, &reward, &truncated), -1);
    CHECK_EQ_I(rllb_env_metrics_step(w, &action, NULL, &truncated), -1);
    CHECK_EQ_I(rllb_env_metrics_step(w, &action, &reward, NULL), -1);
    CHECK_EQ_I(rllb_env_metrics_step(w, &action, &reward, &truncated), 0);
    CHECK_EQ_I(rllb_env_metrics_query_client(w, 0, 3, &s), -1);
    CHECK_EQ_I(rllb_env_metrics_query_client(w, 1, 0, &s), -1);
    CHECK_EQ_I(rllb_env_metrics_query_client(w, 0, 0, NULL), -1);
    CHECK_EQ_I(rllb_env_metrics_query_client(w, 0, 0, &s), 0);
    CHECK_EQ_I(rllb_env_metrics_best(w, -1), -1);
    CHECK_EQ_I(rllb_env_metrics_best(w, 1), -1);
    CHECK_STR(rllb_env_metrics_mode_name(RLLB_ENV_METRICS_HONEST), "honest");
    CHECK_EQ_I(rllb_env_metrics_mode_of("original"), RLLB_ENV_METRICS_ORIGINAL);
    CHECK_EQ_I(rllb_env_metrics_mode_of("seed0"), -1);
    CHECK_STR(rllb_env_metrics_mode_name(RLLB_ENV_METRICS_MODE_NUM), NULL);
}
