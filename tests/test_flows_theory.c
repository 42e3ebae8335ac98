/* test_flows_theory.c - the flow-level world: its books at every event, and queues whose answers are known

   What examples/theory.c shows at length, as far as seconds go; test_flows.c has the rest. Means are taken over ten
   seeds and must lie within four standard errors of theory, and four standard errors must be a small share of it, or
   else the test would prove nothing. Seeds are fixed, so a test passes always or never. Compiles as C99 and C++11. */

#define RLLB_IMPLEMENTATION
#include "rllb_env.h"
#include "test.h"

/* ---- helpers ------------------------------------------------------------------------------------------------- */

enum { SEEDS = 10, SERVERS = 1000 };

/* Instrumented programs are slow, and look for other mistakes: a fourth of the time, twice the error. */
#if defined(__SANITIZE_ADDRESS__)
#define SHORTER 4.0
#else
#define SHORTER 1.0
#endif

static rllb_env_server_desc farm[SERVERS];

/* `count` servers with that many CPUs, load `rho`, a second of work. */
static rllb_env_flows_desc plain(int32_t count, int32_t cpus, double rho)
{
    rllb_env_flows_desc d;
    int32_t i;

    memset(farm, 0, sizeof farm);
    for (i = 0; i < count; i++) farm[i].cpus = cpus;
    rllb_env_flows_desc_default(&d);
    d.servers = farm;
    d.count = count;
    d.work_s = 1;
    d.rate = rho * count * cpus;
    d.step_s = 100;
    d.seed = 1;
    return d;
}

/* Mean time in the system, and the share that was turned away, per seed. */
static void measure(const rllb_env_flows_desc *d, double warm_s, double run_s, rllb_stats *time, rllb_stats *lost)
{
    rllb_env_flows *w = rllb_env_flows_create(d);
    rllb_env_flows_info a, b;
    uint64_t seed;

    memset(time, 0, sizeof *time);
    memset(lost, 0, sizeof *lost);
    for (seed = 1; w && seed <= SEEDS; seed++) {
        rllb_env_flows_reset(w, seed);
        rllb_env_flows_run(w, warm_s);
        rllb_env_flows_query(w, &a);
        rllb_env_flows_run(w, warm_s + run_s / SHORTER);
        rllb_env_flows_query(w, &b);
        rllb_stats_add(time, (b.duration_sum_s - a.duration_sum_s) / (double)(b.completed - a.completed));
        rllb_stats_add(lost, (double)(b.rejected - a.rejected) / (double)(b.arrived - a.arrived));
    }
    rllb_env_flows_destroy(w);
}

static void check_mean(const rllb_stats *s, double theory, double share)
{
    double error = 4 * rllb_stats_stddev(s) / sqrt((double)SEEDS);

    NOTE("mean %.5f, theory %.5f, four standard errors %.2f %%", s->mean, theory, 100 * error / theory);
    CHECK_EQ_I(s->count, SEEDS);
    CHECK_NEAR(s->mean, theory, error);
    CHECK(error < share * sqrt(SHORTER) * theory);
}

/* ---- the books ----------------------------------------------------------------------------------------------- */

static rllb_env_event trouble[] = {
    { 20, RLLB_ENV_EVENT_SPEED, 0, 0.3 }, { 40, RLLB_ENV_EVENT_FAIL, 1, 0.5 }, { 50, RLLB_ENV_EVENT_SPEED, 2, 0 },
    { 70, RLLB_ENV_EVENT_JOIN, 3, 0 },    { 80, RLLB_ENV_EVENT_LEAVE, 4, 0 },  { 90, RLLB_ENV_EVENT_RATE, 0, 6 },
    { 110, RLLB_ENV_EVENT_RATE, 0, 1 },   { 115, RLLB_ENV_EVENT_BACK, 2, 0 },  { 120, RLLB_ENV_EVENT_BACK, 1, 0 },
    { 130, RLLB_ENV_EVENT_JOIN, 4, 0 },   { 140, RLLB_ENV_EVENT_BACK, 0, 0 },  { 150, RLLB_ENV_EVENT_RATE, 0, 0 },
};

/* Servers that slow down, stop, fail, leave and join; clients that give up; queues and a pool that are full. */
static rllb_env_flows_desc troubled(rllb_balance policy, bool disks, bool hops)
{
    rllb_env_flows_desc d = plain(7, 2, 0.9);
    int32_t i;

    for (i = 0; i < 7; i++) {
        farm[i].active = 8;
        farm[i].most = 12;
    }
    farm[3].absent = true;
    d.balancers = 3;
    d.balancer.policy = policy;
    d.law = RLLB_ENV_LOGNORMAL;
    d.io = disks ? 0.2 : 0;
    d.stages = disks ? 5 : 0;
    d.hop_s[0] = hops ? 0.01 : 0;
    d.hop_s[1] = hops ? 0.2 : 0;
    d.timeout_s = 8;
    d.reject_s = hops ? 0.5 : 0;
    d.sample_s = 1;
    d.step_s = 2.5;
    d.flows_max = hops ? 76 : 50;
    d.events = trouble;
    d.event_count = (int32_t)(sizeof trouble / sizeof *trouble);
    return d;
}

typedef struct books {
    rllb_env_flows_info last;
    int64_t heard[RLLB_ENV_FATE_NUM], stops, unbalanced, leaps, overfull, lost_sight;
} books;

static void hear(void *user, const rllb_env_flow *f)
{
    ((books *)user)->heard[f->fate]++;
}

static int64_t ends_of(const rllb_env_flows_info *i)
{
    return i->completed + i->rejected + i->failed + i->timed_out;
}

/* Flows that the balancers think are at a server or on their way. */
static int64_t seen_by_balancers(rllb_env_flows *w, const rllb_env_flows_desc *d)
{
    rllb_server_info seen;
    int64_t sum = 0;
    int32_t i, j;

    for (i = 0; i < d->balancers; i++) {
        for (j = 0; j < d->count; j++) {
            if (rllb_balancer_server(rllb_env_flows_balancer(w, i), j, &seen) != RLLB_OK) return -1;
            sum += seen.in_flight;
        }
    }
    return sum;
}

/* At one event: nothing is lost or made, nobody holds more than it can, and where nothing travels the balancers know
   of all that clients wait for. */
static void audit(books *b, rllb_env_flows *w, const rllb_env_flows_desc *d)
{
    rllb_env_flows_info now;
    int32_t held = 0, running = 0, j;
    int64_t all_held = 0, events, arrived, ended;
    bool full = false;

    rllb_env_flows_query(w, &now);
    for (j = 0; j < d->count; j++) {
        rllb_env_flows_server(w, j, &held, &running, NULL);
        full = full || held < running || running < 0 || running > farm[j].active || held > farm[j].most;
        all_held += held;
    }
    events = now.events - b->last.events;
    arrived = now.arrived - b->last.arrived;
    ended = ends_of(&now) - ends_of(&b->last);
    b->unbalanced += now.arrived != ends_of(&now) + now.in_flight || now.in_flight < 0 || now.abandoned < 0;
    b->leaps += events < 1 || arrived < 0 || ended < 0 || arrived > events || ended > events;
    b->overfull += full || now.in_flight + now.abandoned > d->flows_max || all_held > now.in_flight + now.abandoned;
    if (d->hop_s[1] <= 0) b->lost_sight += seen_by_balancers(w, d) != now.in_flight;
    b->last = now;
    b->stops++;
}

static void keep_books(const rllb_env_flows_desc *d, books *b)
{
    rllb_env_flows *w = rllb_env_flows_create(d);
    double next_s;

    memset(b, 0, sizeof *b);
    if (!w) return;
    rllb_env_flows_listen(w, hear, b);
    while ((next_s = rllb_env_flows_next_s(w)) <= 400) {
        b->leaps += rllb_env_flows_run(w, next_s) != RLLB_OK;
        audit(b, w, d);
    }
    rllb_env_flows_destroy(w);
}

/* Policies of every kind, with disks and hops and without. */
TEST(books_balance_at_every_event)
{
    static const rllb_balance policies[] = { RLLB_BALANCE_SED,     RLLB_BALANCE_P2C, RLLB_BALANCE_WCMP,
                                             RLLB_BALANCE_PREQUAL, RLLB_BALANCE_C3,  RLLB_BALANCE_SRT };
    books b;
    int i;

    for (i = 0; i < 12; i++) {
        rllb_env_flows_desc d = troubled(policies[i / 2], i % 4 == 1 || i % 4 == 2, i % 2);
        keep_books(&d, &b);
        NOTE("%s, %s, %s: %lld stops, %lld completed, %lld rejected, %lld of them without room, %lld failed, %lld "
             "timed out", rllb_balance_name(d.balancer.policy), d.io > 0 ? "disks" : "no disks",
             i % 2 ? "hops" : "no hops", (long long)b.stops, (long long)b.last.completed, (long long)b.last.rejected,
             (long long)b.last.no_room, (long long)b.last.failed, (long long)b.last.timed_out);
        CHECK_EQ_I(b.unbalanced, 0);
        CHECK_EQ_I(b.leaps, 0);
        CHECK_EQ_I(b.overfull, 0);
        CHECK_EQ_I(b.lost_sight, 0);
        CHECK(b.stops > 5000 && b.last.completed > 1000 && b.last.no_room > 0 && b.last.failed > 0);
        CHECK(b.last.rejected > b.last.no_room && b.last.timed_out > 0);
        CHECK_EQ_I(b.heard[RLLB_ENV_COMPLETED], b.last.completed);
        CHECK_EQ_I(b.heard[RLLB_ENV_REJECTED], b.last.rejected - b.last.no_room);
        CHECK_EQ_I(b.heard[RLLB_ENV_NO_ROOM], b.last.no_room);
        CHECK_EQ_I(b.heard[RLLB_ENV_FAILED], b.last.failed);
        CHECK_EQ_I(b.heard[RLLB_ENV_TIMED_OUT], b.last.timed_out);
        CHECK_EQ_I(b.last.in_flight, 0); /* arrivals ceased long ago */
        CHECK_EQ_I(b.last.abandoned, 0);
    }
}

typedef struct toil {
    double work_s;
} toil;

static void hear_work(void *user, const rllb_env_flow *f)
{
    ((toil *)user)->work_s += f->work_s;
}

/* From empty to empty: the work that flows brought is the time that CPUs were busy, times their speed. */
TEST(work_is_neither_lost_nor_made)
{
    static rllb_env_event events[] = { { 300, RLLB_ENV_EVENT_SPEED, 1, 0.5 },
                                       { 350, RLLB_ENV_EVENT_SPEED, 2, 0 },
                                       { 400, RLLB_ENV_EVENT_BACK, 1, 0 },
                                       { 400, RLLB_ENV_EVENT_BACK, 2, 0 },
                                       { 600, RLLB_ENV_EVENT_RATE, 0, 0 } };
    static const float speeds[] = { 1, 2, 0.5f };
    int active;

    for (active = 2; active <= 200; active *= 10) {
        rllb_env_flows_desc d = plain(3, 2, 0.7);
        rllb_env_flows *w;
        toil heard = { 0 };
        double done = 0, now_s = 0, next_s = 0, rate[3] = { 0, 0, 0 };
        int32_t running = 0, j;
        for (j = 0; j < 3; j++) {
            farm[j].speed = speeds[j];
            farm[j].weight = 2 * speeds[j];
            farm[j].active = active;
        }
        d.balancer.policy = RLLB_BALANCE_SED;
        d.events = events;
        d.event_count = 5;
        w = rllb_env_flows_create(&d);
        REQUIRE(w != NULL);
        rllb_env_flows_listen(w, hear_work, &heard);
        for (; (next_s = rllb_env_flows_next_s(w)) <= 2000; now_s = next_s) {
            for (j = 0; j < 3; j++) done += rate[j] * (next_s - now_s);
            rllb_env_flows_run(w, next_s);
            for (j = 0; j < 3; j++) {
                double slow = next_s < 300 || next_s >= 400 ? 1 : j == 1 ? 0.5 : j == 2 && next_s >= 350 ? 0 : 1;
                rllb_env_flows_server(w, j, NULL, &running, NULL);
                rate[j] = slow * (double)speeds[j] * (running < 2 ? running : 2);
            }
        }
        rllb_env_flows_destroy(w);
        NOTE("%d active: %.6f s of work came, %.6f s were done", active, heard.work_s, done);
        CHECK(heard.work_s > 1500);
        CHECK_REL(done / heard.work_s, 1, 1e-9);
    }
}

/* ---- theory -------------------------------------------------------------------------------------------------- */

static double erlang_b(int32_t c, double offered)
{
    double b = 1;
    int32_t k;

    for (k = 1; k <= c; k++) b = offered * b / (k + offered * b);
    return b;
}

/* Servers without a queue turn away what Erlang's formula says, whatever the law of the work. */
TEST(erlang_b_is_insensitive)
{
    static const rllb_env_law laws[] = { RLLB_ENV_EXPONENTIAL, RLLB_ENV_LOGNORMAL, RLLB_ENV_SAME };
    rllb_stats time, lost;
    int i;

    for (i = 0; i < 3; i++) {
        rllb_env_flows_desc d = plain(1, 8, 0.8);
        farm[0].most = 8;
        d.law = laws[i];
        measure(&d, 50, 4000, &time, &lost);
        check_mean(&lost, erlang_b(8, 6.4), 0.05);
    }
}

/* Eight servers in turn are queues E_8/M/1: busy at an arrival is the root of s = (8 rho / (8 rho + 1 - s))^8. The
   shortest queue is no slower (Winston 1977), nor faster than one queue for all. */
TEST(in_turn_and_the_shortest_of_eight)
{
    rllb_env_flows_desc d = plain(8, 1, 0.8);
    double busy = 0.8, b = erlang_b(8, 6.4), pooled;
    rllb_stats turns, shortest, lost;
    int i;

    for (i = 0; i < 1000; i++) busy = pow(6.4 / (6.4 + 1 - busy), 8);
    pooled = 1 + b / (1 - 0.8 * (1 - b)) / (8 - 6.4);
    d.balancer.policy = RLLB_BALANCE_ROUND_ROBIN;
    measure(&d, 100, 6000, &turns, &lost);
    check_mean(&turns, 1 / (1 - busy), 0.05);
    d.balancer.policy = RLLB_BALANCE_LSQ;
    measure(&d, 100, 6000, &shortest, &lost);
    NOTE("one queue %.4f, shortest %.4f, in turn %.4f", pooled, shortest.mean, 1 / (1 - busy));
    CHECK(shortest.mean > pooled && shortest.mean < 0.6 / (1 - busy));
}

/* Two queues, i and j long, behind one balancer that takes the smaller (length + 1) / weight: a Markov chain, solved by
   its balance equations. Answers the mean time. */
static double two_queues(double rate, double speed, double weight)
{
    enum { MOST = 60 };
    static double p[MOST + 2][MOST + 2]; /* from 1 on; nothing at the borders */
    double sum = 0, flows = 0;
    int32_t i, j, sweep;

#define TO_FIRST(i, j) ((i) < (j) / weight ? 1.0 : (i) > (j) / weight ? 0.0 : 0.5) /* counted from 1: length + 1 */
    memset(p, 0, sizeof p);
    p[1][1] = 1;
    for (sweep = 0; sweep < 3000; sweep++) {
        for (i = 1; i <= MOST; i++) {
            for (j = 1; j <= MOST; j++) {
                double in = rate * (TO_FIRST(i - 1, j) * p[i - 1][j] + (1 - TO_FIRST(i, j - 1)) * p[i][j - 1]);
                in += p[i + 1][j] + speed * p[i][j + 1];
                if (sweep || i > 1 || j > 1) p[i][j] = in / (rate + (i > 1 ? 1 : 0) + (j > 1 ? speed : 0));
            }
        }
    }
#undef TO_FIRST
    for (i = 1; i <= MOST; i++) {
        for (j = 1; j <= MOST; j++) {
            sum += p[i][j];
            flows += p[i][j] * (i + j - 2);
        }
    }
    return flows / sum / rate;
}

TEST(two_queues_are_solved)
{
    static const struct { rllb_balance policy; float speed, weight; } cases[] = {
        { RLLB_BALANCE_LSQ, 1, 1 }, { RLLB_BALANCE_LSQ, 1.618f, 1 }, { RLLB_BALANCE_SED, 1.618f, 1.618f },
    };
    rllb_stats time, lost;
    int i;

    for (i = 0; i < 3; i++) {
        rllb_env_flows_desc d = plain(2, 1, 0.7);
        farm[1].speed = cases[i].speed;
        farm[1].weight = cases[i].weight;
        d.rate = 0.7 * (1 + (double)cases[i].speed);
        d.balancer.policy = cases[i].policy;
        measure(&d, 200, 20000, &time, &lost);
        check_mean(&time, two_queues(d.rate, (double)cases[i].speed, (double)cases[i].weight), 0.05);
    }
}

/* Two choices of many servers: shares s[k] with at least k flows, from empty on, are the solution of
   d s[k] / dt = rho (s[k-1]^2 - s[k]^2) - (s[k] - s[k+1])    (Vvedenskaya, Dobrushin and Karpelevich 1996). */
TEST(two_choices_of_many_servers)
{
    enum { K = 12, TIMES = 4 };
    static const double times[TIMES] = { 2, 8, 20, 60 };
    rllb_env_flows_desc d = plain(SERVERS, 1, 0.9);
    double s[K + 2] = { 1 }, slope[K + 2], theory = 0, limit = 0;
    rllb_stats flows[TIMES];
    rllb_env_flows_info info;
    rllb_env_flows *w;
    uint64_t seed;
    int i, k, ms = 0;

    d.balancer.policy = RLLB_BALANCE_P2C;
    w = rllb_env_flows_create(&d);
    REQUIRE(w != NULL);
    memset(flows, 0, sizeof flows);
    for (seed = 1; seed <= SEEDS; seed++) {
        rllb_env_flows_reset(w, seed);
        for (i = 0; i < TIMES; i++) {
            rllb_env_flows_run(w, times[i]);
            rllb_env_flows_query(w, &info);
            rllb_stats_add(&flows[i], (double)info.in_flight / SERVERS);
        }
    }
    rllb_env_flows_destroy(w);
    for (i = 0; i < TIMES; i++) {
        for (; ms < 1000 * times[i]; ms++) {
            for (k = 1; k <= K; k++) slope[k] = 0.9 * (s[k - 1] * s[k - 1] - s[k] * s[k]) - (s[k] - s[k + 1]);
            for (k = 1; k <= K; k++) s[k] += 0.001 * slope[k];
        }
        for (theory = 0, k = 1; k <= K; k++) theory += s[k];
        check_mean(&flows[i], theory, 0.08);
    }
    for (k = 1; k <= K; k++) limit += pow(0.9, pow(2, k) - 1);
    CHECK_REL(theory / limit, 1, 0.01); /* where the way ends */
}
