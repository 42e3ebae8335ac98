/* test_balancer_policies.c - every policy of the balancer against a slow, plain statement of its rule

   Random states for the rules that compare servers, exact probabilities for those that draw, the published properties
   of tables and turns, and examples computed by hand for those that learn from durations and reports. */

#define RLLB_STATIC
#include "test_balancer.h"

static const int32_t SIZES[10] = { 1, 2, 3, 7, 16, 17, 24, 64, 65, 130 };

/* ---- rules that compare all servers ------------------------------------------------------------------------ */

/* What a rule may look at, kept beside the balancer. */
typedef struct model {
    int32_t n, usable_count;
    int64_t q[SERVERS_MAX];
    double w[SERVERS_MAX];
    double t[SERVERS_MAX], told_s[SERVERS_MAX]; /* durations as least_time averages them; when the last came */
    bool usable[SERVERS_MAX];
    float oracle[SERVERS_MAX];
    rllb_rng random;
} model;

typedef double (*cost_fn)(const model *m, int32_t s);

static double cost_sed(const model *m, int32_t s)
{
    return (double)(m->q[s] + 1) / m->w[s];
}

static double cost_lsq(const model *m, int32_t s)
{
    return (double)m->q[s];
}

/* An idle server is better than any that is not, however slow it is. */
static double cost_nq(const model *m, int32_t s)
{
    return m->q[s] ? (double)(m->q[s] + 1) / m->w[s] : 1e-12 / m->w[s];
}

static double cost_oracle(const model *m, int32_t s)
{
    return (double)m->oracle[s];
}

static double cost_sed_oracle(const model *m, int32_t s)
{
    return ((double)m->oracle[s] + 1) / m->w[s];
}

static double cost_least_time(const model *m, int32_t s)
{
    return m->t[s] * (double)(m->q[s] + 1) / m->w[s];
}

/* Is `pick` what the rule says? Costs within a millionth of the least are a tie, and the lowest index wins it; where
   rounding may decide whether it is one, both answers are right. */
static bool right_pick(const model *m, cost_fn cost, int32_t pick)
{
    double least = INFINITE;
    int32_t i;

    for (i = 0; i < m->n; i++) {
        if (m->usable[i] && cost(m, i) < least) least = cost(m, i);
    }
    if (m->usable_count == 0) return pick == -1;
    if (pick < 0 || pick >= m->n || !m->usable[pick] || cost(m, pick) > least * (1 + 2e-6)) return false;
    for (i = 0; i < pick; i++) {
        if (m->usable[i] && cost(m, i) <= least * (1 + 5e-7)) return false;
    }
    return true;
}

static void look(model *m, const rllb_balancer *b)
{
    int32_t i;

    m->usable_count = 0;
    for (i = 0; i < m->n; i++) {
        m->usable[i] = info_of(b, i).usable;
        m->usable_count += m->usable[i];
    }
}

/* Weights in force: as configured, over their mean among the usable. */
static void check_weights(const model *m, const rllb_balancer *b)
{
    double mean = 0;
    int32_t i;

    for (i = 0; i < m->n; i++) mean += m->usable[i] ? m->w[i] / m->usable_count : 0;
    for (i = 0; i < m->n; i++) {
        rllb_server_info info = info_of(b, i);
        CHECK_REL((double)info.weight / m->w[i], 1, 1e-7);
        CHECK_EQ_I(info.in_flight, m->q[i]);
        if (m->usable[i]) CHECK_NEAR((double)info.weight_in_force * mean / m->w[i], 1, 1e-5);
    }
}

static void random_change(model *m, rllb_balancer *b, double now, double decades)
{
    int32_t s = rllb_rng_below(&m->random, m->n), what = rllb_rng_below(&m->random, 8);

    if (what < 3) {
        float w = random_weight(&m->random, decades);
        CHECK_EQ_I(rllb_balancer_set_weight(b, s, w, now), RLLB_OK);
        m->w[s] = (double)w;
    } else {
        rllb_server_state state = what == 3 ? RLLB_SERVER_DOWN : what == 4 ? RLLB_SERVER_DRAINING : RLLB_SERVER_UP;
        CHECK_EQ_I(rllb_balancer_set_state(b, s, state, now), RLLB_OK);
        if (state != RLLB_SERVER_UP) CHECK_EQ_I(info_of(b, s).state, state);
    }
    look(m, b);
}

/* The end of a request at a server that has one; now and then it fails. */
static void random_done(model *m, rllb_balancer *b, double now)
{
    double duration = 0.01 * exp(2 * rllb_rng_double(&m->random)), age, newest;
    int32_t s = rllb_rng_below(&m->random, m->n), i;
    bool failed = rllb_rng_below(&m->random, 8) == 0;

    for (i = 0; i < m->n && m->q[s] == 0; i++) s = (s + 1) % m->n;
    if (m->q[s] == 0) return;
    CHECK_EQ_I(rllb_balancer_done(b, s, now - duration, now, failed ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK), RLLB_OK);
    m->q[s]--;
    age = now - m->told_s[s];
    newest = fmax(0.05, 1 - exp(-age / 2));
    m->t[s] += newest * (duration - m->t[s]);
    m->told_s[s] = now;
}

/* A random walk through states of traffic, every pick held against the rule. */
static void walk(rllb_balancer_desc d, cost_fn cost, double decades, int32_t steps)
{
    float action[SERVERS_MAX];
    rllb_balancer *b;
    double now = 100;
    int32_t i, wrong = 0, none = 0, ejected = 0;
    model m;

    memset(&m, 0, sizeof m);
    m.n = d.count;
    rllb_rng_init(&m.random, 7, (uint64_t)d.count * 100 + (uint64_t)d.policy);
    d.oracle = m.oracle;
    b = rllb_balancer_create(&d);
    CHECK(b != NULL);
    if (!b) return;
    for (i = 0; i < m.n; i++) {
        float w = random_weight(&m.random, decades);
        m.w[i] = (double)w;
        action[i] = 3 * w; /* a controller's scale does not matter */
        if (d.policy != RLLB_BALANCE_LEARNED && decades > 0) {
            CHECK_EQ_I(rllb_balancer_set_weight(b, i, w, now), RLLB_OK);
        }
        if (d.policy == RLLB_BALANCE_LEAST_TIME) CHECK(request(b, i, 0.01 * (i + 1), now));
        m.t[i] = 0.01 * (i + 1);
        m.told_s[i] = now;
        m.oracle[i] = (float)rllb_rng_below(&m.random, 4);
        for (; rllb_rng_below(&m.random, 3) == 0; m.q[i]++) CHECK(send_to(b, i, now));
    }
    if (d.policy == RLLB_BALANCE_LEARNED) CHECK_EQ_I(rllb_balancer_act(b, action, m.n, now), RLLB_OK);
    look(&m, b);
    for (i = 0; i < steps; i++) {
        int32_t what = rllb_rng_below(&m.random, 32), pick;
        now += 0.01;
        if (what == 0 && d.policy != RLLB_BALANCE_LEARNED) random_change(&m, b, now, decades);
        m.oracle[rllb_rng_below(&m.random, m.n)] = (float)rllb_rng_below(&m.random, 4) * (what & 1 ? 1.0f : 0.3f);
        if (what < 15) {
            random_done(&m, b, now);
            if (d.guard.eject_failures > 0) { /* a tick, so that the guard has had its say */
                CHECK(rllb_balancer_tick(b, now));
                look(&m, b);
                ejected += m.usable_count < m.n;
            }
            continue;
        }
        pick = rllb_balancer_pick(b, 0, now);
        wrong += !right_pick(&m, cost, pick);
        none += pick < 0;
        if (pick >= 0 && pick < m.n) m.q[pick]++;
    }
    if (d.policy != RLLB_BALANCE_LEARNED) check_weights(&m, b);
    NOTE("%s, %d servers", rllb_balance_name(d.policy), (int)m.n);
    CHECK_EQ_I(wrong, 0);
    CHECK_EQ_U(counters_of(b).no_server, (uint64_t)none);
    if (d.guard.eject_failures > 0 && m.n > 1) CHECK(ejected > 50);
    rllb_balancer_destroy(b);
}

static void walk_sizes(rllb_balance policy, cost_fn cost)
{
    int32_t i;

    for (i = 0; i < 10; i++) {
        walk(plain(policy, SIZES[i]), cost, 0, 1000);
        walk(plain(policy, SIZES[i]), cost, 1, 2000);
        walk(plain(policy, SIZES[i]), cost, 6, 1000);
        if (policy != RLLB_BALANCE_LEAST_TIME && policy != RLLB_BALANCE_LEARNED) {
            rllb_balancer_desc d = plain(policy, SIZES[i]); /* servers that fail are out, up to half of them */
            d.guard.eject_failures = 1;
            d.guard.eject_s = d.guard.eject_longest_s = 1e6f;
            d.interval_s = 0.005f;
            walk(d, cost, 1, 1000);
        }
    }
}

TEST(sed_rule)
{
    walk_sizes(RLLB_BALANCE_SED, cost_sed);
}

TEST(lsq_rule)
{
    walk_sizes(RLLB_BALANCE_LSQ, cost_lsq);
}

TEST(nq_rule)
{
    walk_sizes(RLLB_BALANCE_NQ, cost_nq);
}

TEST(gsq_rule)
{
    walk_sizes(RLLB_BALANCE_GSQ, cost_oracle);
}

TEST(srt_rule)
{
    walk_sizes(RLLB_BALANCE_SRT, cost_oracle);
}

TEST(sed_oracle_rule)
{
    walk_sizes(RLLB_BALANCE_SED_ORACLE, cost_sed_oracle);
}

TEST(least_time_rule)
{
    walk_sizes(RLLB_BALANCE_LEAST_TIME, cost_least_time);
}

TEST(learned_rule)
{
    walk_sizes(RLLB_BALANCE_LEARNED, cost_sed);
}

/* 4,096 servers: the vector code's whole range, every server once. */
TEST(sed_at_the_limit)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, RLLB_BALANCER_SERVERS_MAX);
    rllb_balancer *b = rllb_balancer_create(&d);
    int32_t i, wrong = 0;

    REQUIRE(b != NULL);
    for (i = 0; i < 2 * d.count; i++) wrong += rllb_balancer_pick(b, 0, 1) != i % d.count;
    CHECK_EQ_I(wrong, 0); /* all equal: one each, in order */
    CHECK_EQ_I(rllb_balancer_set_weight(b, 4095, 10, 1), RLLB_OK);
    for (i = 0; i < 17; i++) CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 4095); /* (q + 1) / w is 3 elsewhere, .3 here */
    CHECK_EQ_I(in_flight(b, 4095), 19);
    rllb_balancer_destroy(b);
}

typedef struct chooser {
    const rllb_balancer *b;
    int32_t n, calls, answer, wrong; /* answer: what to say, -2: the least of what is seen */
} chooser;

static int32_t choose(void *self, const float *observation, int32_t observations)
{
    chooser *c = (chooser *)self;
    int32_t i, best = -1;

    c->calls++;
    c->wrong += observations != c->n;
    for (i = 0; i < observations; i++) {
        if (best < 0 || observation[i] < observation[best]) best = i;
    }
    if (best >= 0 && observation[best] > 1e30f) best = -1;
    return c->answer == -2 ? best : c->answer;
}

TEST(choose_sees_the_costs)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_CHOOSE, 0);
    chooser c = { NULL, 0, 0, -2, 0 };
    int32_t i;

    d.choose = choose;
    d.choose_self = &c;
    for (i = 0; i < 10; i++) {
        d.count = c.n = SIZES[i];
        walk(d, cost_sed, 1, 1000); /* choosing the least of (q + 1) / w is SED */
    }
    CHECK(c.calls > 1000);
    CHECK_EQ_I(c.wrong, 0);
}

/* What the function says is not trusted: another answer is counted, and a usable server serves. */
TEST(choose_is_not_trusted)
{
    static const int32_t answers[8] = { -1, -2000, 4, 5, 100000, INT32_MIN, INT32_MAX, 2 /* down */ };
    rllb_balancer_desc d = plain(RLLB_BALANCE_CHOOSE, 4);
    chooser c = { NULL, 4, 0, 1, 0 };
    rllb_balancer *b;
    int32_t i;

    d.choose = choose;
    d.choose_self = &c;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_set_state(b, 2, RLLB_SERVER_DOWN, 1), RLLB_OK);
    for (i = 0; i < 5; i++) CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 1);
    CHECK_EQ_U(counters_of(b).choose_refused, 0);
    for (i = 0; i < 8; i++) {
        int32_t server;
        c.answer = answers[i];
        server = rllb_balancer_pick(b, 0, 1);
        CHECK(server >= 0 && server < 4 && server != 2);
        CHECK_EQ_U(counters_of(b).choose_refused, (uint64_t)i + 1);
    }
    c.answer = 3;
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 3);
    rllb_balancer_destroy(b);
}

/* An oracle that says NaN of a server, or nothing good of any. */
TEST(oracle_not_finite)
{
    static const rllb_balance policies[3] = { RLLB_BALANCE_GSQ, RLLB_BALANCE_SRT, RLLB_BALANCE_SED_ORACLE };
    float oracle[3];
    int32_t i, server;

    for (i = 0; i < 3; i++) {
        rllb_balancer_desc d = plain(policies[i], 3);
        rllb_balancer *b;
        d.oracle = oracle;
        oracle[0] = (float)NAN;
        oracle[1] = 5;
        oracle[2] = (float)INFINITY;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 1);
        oracle[1] = (float)NAN;
        server = rllb_balancer_pick(b, 0, 1);
        CHECK(server >= -1 && server < 3); /* nothing is known: any answer, but an answer */
        oracle[0] = 1;
        CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 0);
        rllb_balancer_destroy(b);
    }
}

/* ---- ties -------------------------------------------------------------------------------------------------- */

static const rllb_balance ALL_COMPARED[6] = { RLLB_BALANCE_SED,  RLLB_BALANCE_NQ,  RLLB_BALANCE_LSQ,
                                              RLLB_BALANCE_GSQ,  RLLB_BALANCE_SRT, RLLB_BALANCE_SED_ORACLE };

/* All servers equal, then every third busy: each of the tied with the same chance. */
TEST(ties_random_are_uniform)
{
    static const int32_t sizes[4] = { 2, 7, 24, 65 };
    float oracle[SERVERS_MAX];
    double p[SERVERS_MAX];
    int32_t i, j, k;

    for (i = 0; i < 6; i++) {
        for (j = 0; j < 4; j++) {
            rllb_balancer_desc d = plain(ALL_COMPARED[i], sizes[j]);
            rllb_balancer *b;
            int32_t n = sizes[j], tied = 0;
            double z;
            d.ties = RLLB_TIES_RANDOM;
            d.oracle = oracle;
            for (k = 0; k < n; k++) oracle[k] = 2, p[k] = 1.0 / n;
            b = rllb_balancer_create(&d);
            REQUIRE(b != NULL);
            NOTE("%s, %d servers", rllb_balance_name(d.policy), (int)n);
            z = picks_z(b, p, n, 400 * n);
            CHECK(z < 5);
            for (k = 0; k < n; k++) tied += k % 3 != 0;
            for (k = 0; k < n; k++) {
                p[k] = k % 3 ? 1.0 / tied : 0;
                if (k % 3 == 0) CHECK(send_to(b, k, 1));
                oracle[k] = k % 3 ? 2 : 3;
            }
            z = picks_z(b, p, n, 400 * n);
            CHECK(z < 5);
            rllb_balancer_destroy(b);
        }
    }
}

/* Nearly equal costs: within a millionth is a tie, beyond it is not. */
TEST(ties_within_a_millionth)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 20);
    double p[20];
    rllb_balancer *b;
    int32_t i;

    d.ties = RLLB_TIES_RANDOM;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 20; i++) {
        CHECK_EQ_I(rllb_balancer_set_weight(b, i, i % 2 ? 1 : 1 - 4e-7f, 1), RLLB_OK);
        p[i] = 0.05;
    }
    CHECK(picks_z(b, p, 20, 8000) < 5);
    for (i = 0; i < 20; i += 2) CHECK_EQ_I(rllb_balancer_set_weight(b, i, 1 - 4e-6f, 1), RLLB_OK);
    for (i = 0; i < 20; i++) p[i] = i % 2 ? 0.1 : 0;
    CHECK(picks_z(b, p, 20, 8000) < 5);
    rllb_balancer_destroy(b);
}

/* Rotating: the first at or after a start that moves on by one with every pick. */
TEST(ties_rotate_in_order)
{
    float oracle[24];
    int32_t i, k, n = 24;

    for (i = 0; i < 6; i++) {
        rllb_balancer_desc d = plain(ALL_COMPARED[i], n);
        rllb_balancer *b;
        int32_t start, wrong = 0, got[100];
        d.ties = RLLB_TIES_ROTATE;
        d.oracle = oracle;
        for (k = 0; k < n; k++) oracle[k] = 2;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        start = peek(b, 0, 1);
        for (k = 1; k < 100; k++) wrong += peek(b, 0, 1) != (start + k) % n;
        NOTE("%s", rllb_balance_name(d.policy));
        CHECK_EQ_I(wrong, 0);
        for (k = 0; k < n; k++) { /* only 3, 4 and 20 are tied */
            bool tied = k == 3 || k == 4 || k == 20;
            oracle[k] = tied ? 2 : 3;
            if (!tied) CHECK(send_to(b, k, 1));
        }
        for (k = 0; k < 100; k++) got[k] = peek(b, 0, 1);
        for (start = 0; start < n; start++) { /* from some start on it is the same turn */
            for (k = 0; k < 100; k++) {
                int32_t at = (start + k) % n;
                if (got[k] != (at <= 3 || at > 20 ? 3 : at == 4 ? 4 : 20)) break;
            }
            if (k == 100) break;
        }
        CHECK(start < n);
        rllb_balancer_destroy(b);
    }
}

/* ---- in turn ----------------------------------------------------------------------------------------------- */

TEST(round_robin_in_turn)
{
    rllb_rng r;
    int32_t i, k;

    rllb_rng_init(&r, 3, 3);
    for (i = 0; i < 10; i++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_ROUND_ROBIN, SIZES[i]);
        rllb_balancer *b = rllb_balancer_create(&d);
        int32_t last, n = SIZES[i], wrong = 0;
        bool down[SERVERS_MAX] = { false };
        REQUIRE(b != NULL);
        last = rllb_balancer_pick(b, 0, 1);
        CHECK(last >= 0 && last < n);
        for (k = 0; k < 2000; k++) {
            int32_t want, server, s = rllb_rng_below(&r, n), left;
            if (rllb_rng_below(&r, 50) == 0) {
                down[s] = !down[s];
                CHECK_EQ_I(rllb_balancer_set_state(b, s, down[s] ? RLLB_SERVER_DOWN : RLLB_SERVER_UP, 1), RLLB_OK);
            }
            for (want = (last + 1) % n, left = n; left > 0 && down[want]; left--) want = (want + 1) % n;
            server = rllb_balancer_pick(b, 0, 1);
            wrong += server != (left ? want : -1);
            if (server >= 0) last = server;
        }
        NOTE("%d servers", (int)n);
        CHECK_EQ_I(wrong, 0);
        rllb_balancer_destroy(b);
    }
}

static rllb_balancer *weighted(rllb_balance policy, const float *weight, int32_t n)
{
    rllb_server_desc servers[SERVERS_MAX];
    rllb_balancer_desc d = plain(policy, n);
    int32_t i;

    for (i = 0; i < n; i++) {
        servers[i].name = NULL;
        servers[i].weight = weight[i];
    }
    d.servers = servers;
    return rllb_balancer_create(&d);
}

/* The sequence that nginx documents for weights 5, 1, 1: a a b a c a a. */
TEST(weighted_round_robin_published_sequence)
{
    static const float weight[3] = { 5, 1, 1 };
    static const int32_t sequence[7] = { 0, 0, 1, 0, 2, 0, 0 };
    rllb_balancer *b = weighted(RLLB_BALANCE_WEIGHTED_ROUND_ROBIN, weight, 3);
    int32_t i;

    REQUIRE(b != NULL);
    for (i = 0; i < 70; i++) CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), sequence[i % 7]);
    rllb_balancer_destroy(b);
}

/* Shares are exact over every period of sum(w) picks, and no server ever runs ahead of its share by a whole pick. */
TEST(weighted_round_robin_shares)
{
    rllb_rng r;
    int32_t i, k, s;

    rllb_rng_init(&r, 4, 4);
    for (i = 0; i < 10; i++) {
        float weight[SERVERS_MAX];
        int32_t n = SIZES[i], total = 0, got[SERVERS_MAX] = { 0 };
        double ahead = 0, behind = 0;
        rllb_balancer *b;
        for (s = 0; s < n; s++) {
            int32_t w = 1 + rllb_rng_below(&r, 9);
            weight[s] = (float)w;
            total += w;
        }
        b = weighted(RLLB_BALANCE_WEIGHTED_ROUND_ROBIN, weight, n);
        REQUIRE(b != NULL);
        for (k = 1; k <= 3 * total; k++) {
            s = rllb_balancer_pick(b, 0, 1);
            REQUIRE(s >= 0 && s < n);
            got[s]++;
            for (s = 0; s < n; s++) {
                double over = got[s] - k * (double)weight[s] / total;
                if (over > ahead) ahead = over;
                if (-over > behind) behind = -over;
                if (k % total == 0) CHECK_EQ_I(got[s], (int32_t)weight[s] * (k / total));
            }
        }
        NOTE("%d servers: at most %.3f picks ahead, %.3f behind", (int)n, ahead, behind);
        CHECK(ahead < 1);
        CHECK(behind < 2.5);
        rllb_balancer_destroy(b);
    }
}

/* Against the rule as it is written: credit + w for all, the greatest is picked and pays the sum. */
TEST(weighted_round_robin_rule)
{
    int32_t i, k, s;
    rllb_rng r;

    rllb_rng_init(&r, 5, 5);
    for (i = 0; i < 10; i++) {
        float weight[SERVERS_MAX];
        double credit[SERVERS_MAX] = { 0 }, total = 0;
        int32_t n = SIZES[i], wrong = 0;
        rllb_balancer *b;
        for (s = 0; s < n; s++) {
            weight[s] = random_weight(&r, 2);
            total += (double)weight[s];
        }
        b = weighted(RLLB_BALANCE_WEIGHTED_ROUND_ROBIN, weight, n);
        REQUIRE(b != NULL);
        for (k = 0; k < 1000; k++) {
            double most = -INFINITE;
            int32_t pick = rllb_balancer_pick(b, 0, 1);
            REQUIRE(pick >= 0 && pick < n);
            for (s = 0; s < n; s++) {
                credit[s] += (double)weight[s];
                if (credit[s] > most) most = credit[s];
            }
            wrong += credit[pick] < most - 1e-4 * total / n;
            credit[pick] -= total;
        }
        NOTE("%d servers", (int)n);
        CHECK_EQ_I(wrong, 0);
        rllb_balancer_destroy(b);
    }
}

/* ---- a few drawn, the best of them taken ------------------------------------------------------------------- */

/* A state to draw in: weights, in-flight counts, some servers down. */
typedef struct state {
    int32_t n;
    double w[SERVERS_MAX], q[SERVERS_MAX];
    bool usable[SERVERS_MAX];
} state;

/* Every server gets a cost of its own when q / w^gamma is asked, so that ties do not blur the probabilities. */
static void random_state(state *s, rllb_balancer *b, int32_t n, double decades, uint64_t seed)
{
    rllb_rng r;
    int32_t i, k;

    rllb_rng_init(&r, seed, 11);
    memset(s, 0, sizeof *s);
    s->n = n;
    for (i = 0; i < n; i++) {
        float w = random_weight(&r, decades);
        s->w[i] = (double)w;
        s->usable[i] = n < 3 || rllb_rng_below(&r, 5) > 0;
        CHECK_EQ_I(rllb_balancer_set_weight(b, i, w, 1), RLLB_OK);
        s->q[i] = (double)((i * 5) % n); /* all different where n is no multiple of 5 */
        for (k = (i * 5) % n; k > 0; k--) CHECK(send_to(b, i, 1));
    }
    for (i = 0; i < n; i++) {
        if (!s->usable[i]) CHECK_EQ_I(rllb_balancer_set_state(b, i, RLLB_SERVER_DOWN, 1), RLLB_OK);
    }
}

/* Two distinct of the usable, each pair with the same chance; the smaller cost, half each when they are equal. */
static void pair_probabilities(const state *s, const double *cost, double *p)
{
    double usable = 0, pairs;
    int32_t i, j;

    for (i = 0; i < s->n; i++) {
        usable += s->usable[i];
        p[i] = 0;
    }
    pairs = usable * (usable - 1) / 2;
    for (i = 0; i < s->n; i++) {
        if (s->usable[i] && usable < 2) p[i] = 1;
        for (j = i + 1; j < s->n; j++) {
            bool tied = fabs(cost[i] - cost[j]) <= 1e-9 * cost[i];
            if (!s->usable[i] || !s->usable[j]) continue;
            p[i] += tied ? 0.5 / pairs : cost[i] < cost[j] ? 1 / pairs : 0;
            p[j] += tied ? 0.5 / pairs : cost[i] < cost[j] ? 0 : 1 / pairs;
        }
    }
}

static void check_pairs(rllb_balance policy)
{
    static const int32_t sizes[6] = { 1, 2, 3, 7, 24, 64 };
    double cost[SERVERS_MAX], p[SERVERS_MAX];
    int32_t i, k;
    state s;

    for (i = 0; i < 6; i++) {
        rllb_balancer_desc d = plain(policy, sizes[i]);
        rllb_balancer *b;
        d.ties = RLLB_TIES_RANDOM;
        b = rllb_balancer_create(&d);
        CHECK(b != NULL);
        if (!b) return;
        random_state(&s, b, sizes[i], 1, 50 + (uint64_t)i);
        for (k = 0; k < s.n; k++) cost[k] = policy == RLLB_BALANCE_P2C ? s.q[k] : (s.q[k] + 1) / s.w[k];
        pair_probabilities(&s, cost, p);
        NOTE("%s, %d servers", rllb_balance_name(policy), (int)s.n);
        CHECK(picks_z(b, p, s.n, 60000) < 5);
        rllb_balancer_destroy(b);
    }
}

TEST(p2c_probabilities) { check_pairs(RLLB_BALANCE_P2C); }
TEST(p2c_weighted_probabilities) { check_pairs(RLLB_BALANCE_P2C_WEIGHTED); }

/* Equal costs among those drawn: the first drawn. Then pairs are uniform, and DRAW with gamma 0 is by w^a. */
TEST(ties_of_the_drawn)
{
    double uniform[5], by_weight[5];
    int32_t i, k;

    for (k = 0; k < 5; k++) {
        uniform[k] = 0.2;
        by_weight[k] = (k + 1) / 15.0;
    }
    for (i = 0; i < 3; i++) {
        static const rllb_balance policies[3] = { RLLB_BALANCE_P2C, RLLB_BALANCE_P2C_WEIGHTED, RLLB_BALANCE_DRAW };
        rllb_balancer_desc d = plain(policies[i], 5);
        rllb_balancer *b;
        d.ties = RLLB_TIES_RANDOM;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        NOTE("%s", rllb_balance_name(policies[i]));
        CHECK(picks_z(b, uniform, 5, 20000) < 5);
        for (k = 0; k < 5; k++) CHECK_EQ_I(rllb_balancer_set_weight(b, k, (float)(k + 1), 1), RLLB_OK);
        if (policies[i] == RLLB_BALANCE_P2C) CHECK(picks_z(b, uniform, 5, 20000) < 5);
        if (policies[i] == RLLB_BALANCE_DRAW) CHECK(picks_z(b, by_weight, 5, 20000) < 5);
        rllb_balancer_destroy(b);
    }
}

/* d independent draws by w^a: the least cost of them is i if all are at least as dear and not all are dearer. Costs are
   all different here. */
static void draw_probabilities(const state *s, int32_t d, double a, double gamma, double *p)
{
    double total = 0;
    int32_t i, j;

    for (i = 0; i < s->n; i++) total += s->usable[i] ? pow(s->w[i], a) : 0;
    for (i = 0; i < s->n; i++) {
        double cost = (s->q[i] + 1) / pow(s->w[i], gamma), dearer = 0;
        p[i] = 0;
        if (!s->usable[i]) continue;
        for (j = 0; j < s->n; j++) {
            if (s->usable[j] && j != i && (s->q[j] + 1) / pow(s->w[j], gamma) > cost) dearer += pow(s->w[j], a);
        }
        p[i] = pow((dearer + pow(s->w[i], a)) / total, d) - pow(dearer / total, d);
    }
}

static void check_draw(rllb_balancer *b, const state *s, int32_t d, double a, double gamma)
{
    double p[SERVERS_MAX];

    draw_probabilities(s, d, a, gamma, p);
    NOTE("draw(%d, %g, %g), %d servers", (int)d, a, gamma, (int)s->n);
    CHECK(picks_z(b, p, s->n, 40000) < 5);
}

TEST(draw_probabilities)
{
    static const struct {
        int32_t d;
        float a, gamma, a_is; /* a as the descriptor wants it, and what it means */
    } forms[9] = { { 1, 1, 0, 1 },        { 2, 0, 1, 1 },           { 3, 1, 1, 1 },
                   { 3, 1.2f, 0.25f, 1.2f }, { 2, RLLB_OFF, 0, 0 }, { 6, 0.5f, 0.75f, 0.5f },
                   { 0, 1.1f, 0, 1.1f },  { 64, 1, 1, 1 },          { 2, 2, 0.5f, 2 } };
    static const int32_t sizes[3] = { 2, 7, 24 };
    int32_t i, j;
    state s;

    for (i = 0; i < 9; i++) {
        for (j = 0; j < 3; j++) {
            rllb_balancer_desc d = plain(RLLB_BALANCE_DRAW, sizes[j]);
            rllb_balancer *b;
            d.ties = RLLB_TIES_RANDOM;
            d.d = forms[i].d;
            d.a = forms[i].a;
            d.gamma = forms[i].gamma;
            b = rllb_balancer_create(&d);
            REQUIRE(b != NULL);
            random_state(&s, b, sizes[j], 1, 70 + (uint64_t)j);
            check_draw(b, &s, forms[i].d ? forms[i].d : 3, (double)forms[i].a_is, (double)forms[i].gamma);
            rllb_balancer_destroy(b);
        }
    }
}

/* LEARNED in the DRAW form is the same over the controller's weights; d, a and gamma may be the controller's, too. */
TEST(learned_draw_form)
{
    static const float weight[7] = { 1, 3, 2, 5, 4, 0.5f, 0.25f };
    static const int32_t q[7] = { 3, 1, 0, 2, 4, 5, 6 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 7);
    rllb_balancer *b, *c;
    float action[10];
    int32_t i, k;
    state s;

    memset(&s, 0, sizeof s);
    s.n = 7;
    d.form = RLLB_FORM_DRAW;
    d.d = 2;
    d.gamma = 0.5f;
    d.ties = RLLB_TIES_RANDOM;
    b = rllb_balancer_create(&d);
    d.control_form = true;
    c = rllb_balancer_create(&d);
    REQUIRE(b && c);
    for (i = 0; i < 7; i++) {
        action[i] = weight[i];
        s.w[i] = (double)weight[i];
        s.q[i] = q[i];
        s.usable[i] = true;
        for (k = 0; k < q[i]; k++) CHECK(send_to(b, i, 1) && send_to(c, i, 1));
    }
    CHECK_EQ_I(rllb_balancer_act(b, action, 7, 1), RLLB_OK);
    check_draw(b, &s, 2, 1, 0.5);
    CHECK(rllb_balancer_act(c, action, 7, 1) != RLLB_OK); /* this one wants ten numbers */
    action[7] = 4;
    action[8] = 1.5f;
    action[9] = 0.25f;
    CHECK(rllb_balancer_act(b, action, 10, 1) != RLLB_OK);
    CHECK_EQ_I(rllb_balancer_act(c, action, 10, 1), RLLB_OK);
    check_draw(c, &s, 4, 1.5, 0.25);
    action[7] = 1;
    action[8] = 0; /* from a controller 0 is 0 */
    action[9] = 0;
    CHECK_EQ_I(rllb_balancer_act(c, action, 10, 1), RLLB_OK);
    check_draw(c, &s, 1, 0, 0);
    rllb_balancer_destroy(b);
    rllb_balancer_destroy(c);
}

TEST(jiq_probabilities)
{
    static const int32_t sizes[4] = { 2, 3, 7, 24 };
    double p[SERVERS_MAX];
    int32_t i, k;

    for (i = 0; i < 4; i++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_JIQ, sizes[i]);
        rllb_balancer *b;
        int32_t n = sizes[i];
        double total = 0, idle = 0;
        d.ties = RLLB_TIES_RANDOM;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        for (k = 0; k < n; k++) {
            CHECK_EQ_I(rllb_balancer_set_weight(b, k, (float)(1 + k), 1), RLLB_OK);
            if (k % 2) CHECK(send_to(b, k, 1));
            idle += k % 2 == 0;
        }
        for (k = 0; k < n; k++) p[k] = k % 2 ? 0 : 1 / idle;
        NOTE("%d servers", (int)n);
        CHECK(picks_z(b, p, n, 40000) < 5);
        for (k = 0; k < n; k++) {
            if (k % 2 == 0) CHECK(send_to(b, k, 1));
            if (k % 3 == 1) CHECK_EQ_I(rllb_balancer_set_state(b, k, RLLB_SERVER_DRAINING, 1), RLLB_OK);
            total += k % 3 == 1 ? 0 : 1 + k;
        }
        for (k = 0; k < n; k++) p[k] = k % 3 == 1 ? 0 : (1 + k) / total;
        CHECK(picks_z(b, p, n, 40000) < 5);
        rllb_balancer_destroy(b);
    }
}

/* ---- by key ------------------------------------------------------------------------------------------------ */

static const rllb_balance BY_KEY[5] = { RLLB_BALANCE_ECMP, RLLB_BALANCE_WCMP, RLLB_BALANCE_AWCMP, RLLB_BALANCE_MAGLEV,
                                        RLLB_BALANCE_MAGLEV_BOUNDED };

/* Keys as users have them: counted up, or as good as random. */
static uint64_t key_of(int32_t i, bool counted)
{
    uint64_t z = (uint64_t)i + 1;

    if (counted) return z;
    return rllb_i_splitmix64(&z);
}

/* Requests of many keys, ended at once: where they go, and whether the shares are right. */
static void map_keys(rllb_balancer *b, int32_t *to, int32_t keys, bool counted)
{
    int32_t i;

    for (i = 0; i < keys; i++) to[i] = peek(b, key_of(i, counted), 1);
}

static double shares_z(const int32_t *to, int32_t keys, const double *p, int32_t n)
{
    double count[SERVERS_MAX] = { 0 };
    int32_t i;

    for (i = 0; i < keys; i++) {
        if (to[i] < 0 || to[i] >= n) return INFINITE;
        count[to[i]]++;
    }
    return chi_square_z(count, p, n);
}

enum { KEYS = 60000 };
static int32_t first[KEYS], second[KEYS];

static int32_t differ(const int32_t *a, const int32_t *b, int32_t n)
{
    int32_t i, count = 0;

    for (i = 0; i < n; i++) count += a[i] != b[i];
    return count;
}

/* Shares by weight (ECMP: equal), for counted and random keys; the same key the same server, whatever else flows. */
TEST(keys_spread_and_stick)
{
    static const int32_t sizes[5] = { 1, 2, 7, 24, 130 };
    double p[SERVERS_MAX];
    int32_t i, j, k, counted;

    for (i = 0; i < 5; i++) {
        for (j = 0; j < 5; j++) {
            float weight[SERVERS_MAX];
            int32_t n = sizes[j];
            double total = 0, usable = 0;
            rllb_balancer *b;
            for (k = 0; k < n; k++) weight[k] = (float)(1 + k % 5);
            b = weighted(BY_KEY[i], weight, n);
            REQUIRE(b != NULL);
            if (n > 2) CHECK_EQ_I(rllb_balancer_set_state(b, 2, RLLB_SERVER_DOWN, 1), RLLB_OK);
            for (k = 0; k < n; k++) {
                total += k == 2 ? 0 : (double)weight[k];
                usable += k != 2;
            }
            for (k = 0; k < n; k++) {
                p[k] = k == 2 ? 0 : BY_KEY[i] == RLLB_BALANCE_ECMP ? 1 / usable : (double)weight[k] / total;
            }
            for (counted = 0; counted < 2; counted++) {
                int32_t keys = 20000;
                double z;
                map_keys(b, first, keys, counted != 0);
                z = shares_z(first, keys, p, n);
                NOTE("%s, %d servers, %s keys: %.1f", rllb_balance_name(BY_KEY[i]), (int)n,
                     counted ? "counted" : "random", z);
                CHECK(z < 5);
                map_keys(b, second, keys, counted != 0);
                CHECK_EQ_I(differ(first, second, keys), 0);
            }
            if (BY_KEY[i] != RLLB_BALANCE_MAGLEV_BOUNDED) { /* in-flight requests do not matter */
                for (k = 0; k < n; k += 2) send_to(b, k, 1);
                map_keys(b, second, 1000, true);
                CHECK_EQ_I(differ(first, second, 1000), 0);
            }
            CHECK(picks_z(b, p, n, 20000) < 5); /* key 0: a random one each time */
            rllb_balancer_destroy(b);
        }
    }
}

/* Two balancers with other seeds send a key to the same server, or a cluster of balancers would have no affinity. */
TEST(maglev_agrees_between_balancers)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_MAGLEV, 24);
    rllb_balancer *a = rllb_balancer_create(&d), *b;

    d.seed = 99;
    d.stream = 7;
    b = rllb_balancer_create(&d);
    REQUIRE(a && b);
    map_keys(a, first, 5000, true);
    map_keys(b, second, 5000, true);
    CHECK_EQ_I(differ(first, second, 5000), 0);
    rllb_balancer_destroy(a);
    rllb_balancer_destroy(b);
}

/* A server leaves: its own keys must move, of the others' hardly any; it returns: all are where they were. */
TEST(maglev_disruption)
{
    static const int32_t sizes[3] = { 3, 24, 130 };
    static const double bounds[3] = { 0.03, 0.03, 0.05 };
    int32_t i, k, round;

    for (i = 0; i < 3; i++) {
        for (round = 0; round < 4; round++) { /* down and up, drained and up, removed and added, the last one too */
            float weight[SERVERS_MAX];
            int32_t n = sizes[i], moved = 0, own = 0, gone = round == 3 ? n - 1 : n / 2, index = -1;
            rllb_server_desc again = { NULL, 0 };
            rllb_balancer *b;
            for (k = 0; k < n; k++) weight[k] = (float)(1 + k % 3);
            b = weighted(RLLB_BALANCE_MAGLEV, weight, n);
            REQUIRE(b != NULL);
            map_keys(b, first, KEYS, true);
            if (round >= 2) CHECK_EQ_I(rllb_balancer_remove(b, gone, 1), RLLB_OK);
            if (round == 1) CHECK_EQ_I(rllb_balancer_set_state(b, gone, RLLB_SERVER_DRAINING, 1), RLLB_OK);
            if (round == 0) CHECK_EQ_I(rllb_balancer_set_state(b, gone, RLLB_SERVER_DOWN, 1), RLLB_OK);
            map_keys(b, second, KEYS, true);
            for (k = 0; k < KEYS; k++) {
                own += first[k] == gone;
                moved += first[k] != gone && second[k] != first[k];
                if (second[k] == gone) FAIL("nothing goes where nothing is");
            }
            for (k = 0; k < n; k++) {
                if (k != gone) CHECK(send_to(b, k, 1) && (k % 2 || send_to(b, k, 1)));
            }
            for (k = 0; k < KEYS; k += 7) { /* and the keys that moved have a server, whatever is in flight */
                if (peek(b, key_of(k, true), 1) != second[k]) FAIL("the same key, the same server");
            }
            NOTE("%d servers: %d keys were its own, %d of %d others moved (%.2f %%)", (int)n, (int)own, (int)moved,
                 (int)(KEYS - own), 100.0 * moved / (KEYS - own));
            CHECK(own > 0);
            CHECK(moved < bounds[i] * (KEYS - own));
            again.weight = weight[gone];
            if (round >= 2) CHECK_EQ_I(rllb_balancer_add(b, &again, 1, &index), RLLB_OK);
            else CHECK_EQ_I(rllb_balancer_set_state(b, gone, RLLB_SERVER_UP, 1), RLLB_OK);
            if (round >= 2) CHECK_EQ_I(index, gone);
            map_keys(b, second, KEYS, true);
            CHECK_EQ_I(differ(first, second, KEYS), 0);
            rllb_balancer_destroy(b);
        }
    }
}

/* Looks into the tables: an alias table implies each server's share exactly, Maglev's has the entries that turns by
   weight give: those of equal weights differ by one at most; with others each server lacks less than one, which the
   heavier ones have. */
TEST(tables_are_exact)
{
    static const int32_t sizes[5] = { 1, 7, 24, 130, 1000 };
    int32_t i, k, equal;

    for (i = 0; i < 5; i++) {
        for (equal = 0; equal < 2; equal++) {
            rllb_server_desc *servers = (rllb_server_desc *)malloc((size_t)sizes[i] * sizeof *servers);
            double *share = (double *)calloc((size_t)sizes[i], sizeof *share);
            double total = 0, worst = 0, most = 0, heaviest = 0;
            rllb_balancer_desc d = plain(RLLB_BALANCE_WCMP, sizes[i]);
            rllb_balancer *b, *c;
            int32_t n = sizes[i], entries;
            rllb_rng r;
            REQUIRE(servers && share);
            rllb_rng_init(&r, 21, (uint64_t)n);
            for (k = 0; k < n; k++) {
                servers[k].name = NULL;
                servers[k].weight = equal ? 1 : random_weight(&r, 2);
                total += (double)servers[k].weight;
                if ((double)servers[k].weight > heaviest) heaviest = (double)servers[k].weight;
            }
            d.servers = servers;
            b = rllb_balancer_create(&d);
            d.policy = RLLB_BALANCE_MAGLEV;
            c = rllb_balancer_create(&d);
            REQUIRE(b && c);
            CHECK(peek(b, 0, 1) >= 0 && peek(c, 0, 1) >= 0);
            for (k = 0; k < n; k++) {
                double keep = (double)b->mind[0].alias[k].keep / 16777216;
                CHECK(keep >= 0 && keep <= 1);
                CHECK(b->mind[0].alias[k].instead >= 0 && b->mind[0].alias[k].instead < n);
                share[k] += keep / n;
                share[b->mind[0].alias[k].instead] += (1 - keep) / n;
            }
            for (k = 0; k < n; k++) {
                double off = fabs(share[k] - (double)servers[k].weight / total) * n;
                if (off > worst) worst = off;
                share[k] = 0;
            }
            CHECK(worst < 1e-6 * n); /* columns of 24 bits: off by some 1e-7 of a column each */
            rllb_balancer_query(c, &d);
            entries = d.table;
            for (k = 0; k < entries; k++) {
                int32_t s = c->table[(size_t)c->table_turn * (size_t)entries + (size_t)k];
                if (s < n) share[s]++; /* else entries are missing below */
            }
            for (k = 0; k < n; k++) {
                double off = fabs(share[k] - entries * (double)servers[k].weight / total);
                if (off > most) most = off;
            }
            NOTE("%d servers, %s: alias off by %.1e of a column, Maglev by %.2f of %d entries", (int)n,
                 equal ? "equal" : "weighted", worst, most, (int)entries);
            CHECK(most < (equal ? 1 : 1 + n * heaviest / total));
            rllb_balancer_destroy(b);
            rllb_balancer_destroy(c);
            free(servers);
            free(share);
        }
    }
}

/* No server is ever above the ceiling of (1 + bound) times its share of what is in flight with the new one; and a key
   goes to its own server whenever that has room. Keys are skewed, so that the bound is needed. */
static void check_bounded(int32_t n, float bound, uint64_t seed)
{
    rllb_server_desc servers[SERVERS_MAX];
    rllb_balancer_desc d = plain(RLLB_BALANCE_MAGLEV_BOUNDED, n);
    rllb_balancer *b, *home;
    int64_t q[SERVERS_MAX] = { 0 }, all = 0;
    double total = 0;
    int32_t i, k, above = 0, strayed = 0, away = 0, fickle = 0, again, s;
    rllb_rng r;

    rllb_rng_init(&r, seed, 5);
    for (i = 0; i < n; i++) {
        servers[i].name = NULL;
        servers[i].weight = (float)(1 + rllb_rng_below(&r, 4));
        total += (double)servers[i].weight;
    }
    d.servers = servers;
    d.bound = bound;
    b = rllb_balancer_create(&d);
    d.policy = RLLB_BALANCE_MAGLEV;
    home = rllb_balancer_create(&d);
    CHECK(b && home);
    if (!b || !home) return;
    for (k = 0; k < 20000; k++) {
        uint64_t key = 1 + (uint64_t)(20 * pow(rllb_rng_double(&r), 4) * n);
        double limit, factor = 1 + (bound > 0 ? (double)bound : 0.25);
        int32_t own;
        s = rllb_rng_below(&r, n);
        if (all > 40 * n || rllb_rng_below(&r, 100) < 47) {
            if (q[s] == 0) continue;
            CHECK_EQ_I(rllb_balancer_done(b, s, 1, 1, RLLB_OUTCOME_CANCELLED), RLLB_OK);
            q[s]--;
            all--;
            continue;
        }
        own = peek(home, key, 1);
        again = peek(b, key, 1);
        s = rllb_balancer_pick(b, key, 1);
        fickle += s != again;
        if (s < 0 || s >= n) {
            FAIL("there is always room somewhere");
            break;
        }
        q[s]++;
        all++;
        limit = factor * (double)servers[s].weight / total * (double)all;
        above += (double)q[s] > ceil(limit * (1 + 1e-6));
        limit = factor * (double)servers[own].weight / total * (double)all;
        strayed += s != own && (double)q[own] + 1 <= limit * (1 - 1e-6);
        away += s != own;
    }
    NOTE("%d servers, bound %g: %d of 20000 steps sent a request elsewhere", (int)n, (double)bound, (int)away);
    CHECK_EQ_I(above, 0);
    CHECK_EQ_I(strayed, 0);
    CHECK_EQ_I(fickle, 0); /* while nothing changes the same key goes to the same server */
    if (n > 1 && bound < 0.5f) CHECK(away > 10);
    rllb_balancer_destroy(b);
    rllb_balancer_destroy(home);
}

TEST(maglev_bounded_keeps_its_bound)
{
    static const int32_t sizes[4] = { 1, 3, 24, 130 };
    int32_t i;

    for (i = 0; i < 4; i++) {
        check_bounded(sizes[i], 0, 1);
        check_bounded(sizes[i], 0.1f, 2);
        check_bounded(sizes[i], 1, 3);
    }
}

/* ---- by how long requests take: examples computed by hand -------------------------------------------------- */

/* With two servers everything drawn is a comparison of both. What server 1 costs, over what server 0 does, at equal
   weights: the weight of server 1 at which the choice turns. */
static double cost_ratio(rllb_balancer *b, double now)
{
    double low = 1e-4, high = 1e4;
    int32_t i;

    for (i = 0; i < 40; i++) {
        double middle = sqrt(low * high);
        if (rllb_balancer_set_weight(b, 1, (float)middle, now) != RLLB_OK) return -1;
        if (peek(b, 0, now) == 1) high = middle;
        else low = middle;
    }
    rllb_balancer_set_weight(b, 1, 1, now);
    return low;
}

/* nginx: the first duration, then 19 / 20 of what was and 1 / 20 of what came.
   Server 0: .1, then .1 * .95 + .3 * .05 = .11, then .11 * .95 + .5 * .05 = .1295. After a pause of 4 s the newest has
   1 - exp(-2) = .8646647: .1295 - .8646647 * .0295 = .1039924. Server 1: .2 throughout. */
TEST(least_time_by_hand)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEAST_TIME, 2);
    rllb_balancer *b = rllb_balancer_create(&d);

    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.1, 1) && request(b, 1, 0.2, 1));
    CHECK_REL(cost_ratio(b, 1), 2, 1e-5);
    CHECK(request(b, 0, 0.3, 1.05) && request(b, 1, 0.2, 1.05));
    CHECK_REL(cost_ratio(b, 1.05), 0.2 / 0.11, 1e-5);
    CHECK(request(b, 0, 0.5, 1.1) && request(b, 1, 0.2, 1.1));
    CHECK_REL(cost_ratio(b, 1.1), 0.2 / 0.1295, 1e-5);
    CHECK(request(b, 0, 0.1, 5.1) && request(b, 1, 0.2, 5.1));
    CHECK_REL(cost_ratio(b, 5.1), 0.2 / 0.1039924, 1e-5);
    CHECK(send_to(b, 0, 6) && send_to(b, 0, 6) && send_to(b, 1, 6));
    CHECK_REL(cost_ratio(b, 6), 0.2 * 2 / (0.1039924 * 3), 1e-5);
    rllb_balancer_destroy(b);
}

/* Finagle: up at once, down with time constant ewma_s = 10.
   Server 0: .1, 1 s later .3 -> .3, 10 s later .1 -> .3 / e + .1 (1 - 1 / e) = .1735759, at once .18 -> .18.
   Server 1: .2 throughout. */
TEST(peak_ewma_by_hand)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PEAK_EWMA, 2);
    rllb_balancer *b = rllb_balancer_create(&d);

    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.1, 1) && request(b, 1, 0.2, 1));
    CHECK_REL(cost_ratio(b, 1), 2, 1e-5);
    CHECK(request(b, 0, 0.3, 2) && request(b, 1, 0.2, 2));
    CHECK_REL(cost_ratio(b, 2), 0.2 / 0.3, 1e-5);
    CHECK(request(b, 0, 0.1, 12) && request(b, 1, 0.2, 12));
    CHECK_REL(cost_ratio(b, 12), 0.2 / 0.1735759, 1e-5);
    CHECK(request(b, 0, 0.18, 12));
    CHECK_REL(cost_ratio(b, 12), 0.2 / 0.18, 1e-5);
    CHECK(send_to(b, 0, 12) && send_to(b, 0, 12));
    CHECK_REL(cost_ratio(b, 12), 0.2 / (0.18 * 3), 1e-5);
    rllb_balancer_destroy(b);
}

/* What is not asked costs less by and by, as if it had answered in no time: 3 s after its .3 server 0 costs
   .3 e^-.3 = .2222, and server 1, asked 1 s ago, .2 e^-.1 = .1810. A server that was never measured costs the mean. */
TEST(peak_ewma_forgets)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PEAK_EWMA, 2);
    rllb_balancer *b = rllb_balancer_create(&d);

    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.3, 1) && request(b, 1, 0.2, 3));
    CHECK_REL(cost_ratio(b, 4), 0.1809675 / 0.2222455, 1e-5);
    rllb_balancer_destroy(b);
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.3, 1));
    rllb_balancer_tick(b, 2);
    CHECK_REL(cost_ratio(b, 1), 1, 1e-5);
    rllb_balancer_destroy(b);
}

/* C3's cubic cost, with averages that are known because all that is averaged is equal. Two clients share the servers.
   By hand, everybody idle: server 0: .05 - .004 + (1 + 0 + 2)^3 .004 = .154; server 1: .02 - .01 + 1^3 .01 = .02;
   server 2: .03 - .002 + 4^3 .002 = .156. One of ours makes that .546, .28 and .46, two make it 1.418, 1.26 and 1.052,
   three at server 2 make it 2.028: so 1 0 2, then 1 2 0, then 2 1. */
TEST(c3_by_hand)
{
    static const double response[3] = { 0.05, 0.02, 0.03 }, service[3] = { 0.004, 0.01, 0.002 }, queue[3] = { 2, 0, 3 };
    static const int32_t expected[8] = { 1, 0, 2, 1, 2, 0, 2, 1 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_C3, 3);
    rllb_balancer *b;
    double q[3] = { 0 };
    int32_t i, s;

    d.clients = 2;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 3; i++) {
        rllb_report report = { 0, 0, NAN };
        report.in_flight = (float)queue[i];
        report.latency_s = (float)service[i];
        for (s = 0; s < 5; s++) {
            CHECK(request(b, i, response[i], 1 + s));
            CHECK_EQ_I(rllb_balancer_report(b, i, &report, 1 + s), RLLB_OK);
        }
    }
    for (i = 0; i < 40; i++) {
        double cost[3];
        int32_t best = 0;
        for (s = 0; s < 3; s++) {
            cost[s] = response[s] - service[s] + pow(1 + 2 * q[s] + queue[s], 3) * service[s];
            if (cost[s] < cost[best]) best = s;
        }
        if (i < 8) CHECK_EQ_I(best, expected[i]); /* the slow statement agrees with the hand */
        s = rllb_balancer_pick(b, 0, 6);
        CHECK_EQ_I(s, best);
        q[best]++;
        if (s != best) break;
    }
    rllb_balancer_destroy(b);
}

/* Servers that claim queues beyond all reason are still servers. */
TEST(c3_absurd_reports)
{
    static const float absurd[3] = { 1e9f, 1e20f, FLT_MAX };
    int32_t i, k;

    for (k = 0; k < 3; k++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_C3, 3);
        rllb_balancer *b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        for (i = 0; i < 30; i++) {
            rllb_report report = { 0, 0, NAN };
            report.in_flight = report.latency_s = absurd[k];
            rllb_balancer_report(b, i % 3, &report, 1 + i);
            CHECK(peek(b, 0, 1 + i) >= 0);
        }
        rllb_balancer_destroy(b);
    }
}

/* Utilisation told by the servers moves the weights of AWCMP, in whatever unit: .2, .5, .8 are .6, .3, 0 below the
   greatest, 2, 1, 0 of their mean. From 1, 1, 1 come 1.5, 1, .5 and, an interval later, 1.75, 1, .25. */
TEST(awcmp_by_hand)
{
    static const float utilisation[3] = { 0.2f, 0.5f, 0.8f };
    static const double after[2][3] = { { 1.5, 1, 0.5 }, { 1.75, 1, 0.25 } };
    int32_t i, round, percent;

    for (percent = 0; percent < 2; percent++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_AWCMP, 3);
        rllb_balancer *b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        rllb_balancer_tick(b, 0);
        for (round = 0; round < 2; round++) {
            double p[3];
            for (i = 0; i < 3; i++) {
                rllb_report report = { NAN, NAN, 0 };
                report.utilisation = (percent ? 100.0f : 1.0f) * utilisation[i];
                CHECK_EQ_I(rllb_balancer_report(b, i, &report, 1 + round), RLLB_OK);
            }
            CHECK(rllb_balancer_tick(b, 1.5 + round));
            for (i = 0; i < 3; i++) {
                p[i] = after[round][i] / 3;
                CHECK_NEAR(info_of(b, i).weight_in_force, after[round][i], 1e-5);
            }
            CHECK(picks_z(b, p, 3, 30000) < 5);
        }
        rllb_balancer_destroy(b);
    }
}

/* HLB's Kalman filter, one number a server. Durations .1, .2, .3 are .5, 1, 1.5 of their mean. At first x = .5 with
   variance 100; a step adds .0001; then gain = variance / (variance + .16), x moves by the gain towards the measured,
   and the variance shrinks by 1 - gain. */
TEST(hlb_by_hand)
{
    static const double duration[2][3] = { { 0.1, 0.2, 0.3 }, { 0.3, 0.2, 0.1 } };
    rllb_balancer_desc d = plain(RLLB_BALANCE_HLB, 3);
    double x[3] = { 0.5, 0.5, 0.5 }, variance = 100;
    rllb_balancer *b;
    int32_t i, round;

    d.slots = 1; /* the newest duration is the mean */
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    for (round = 0; round < 6; round++) {
        double gain, sum = 0, q[3] = { 0 }, w[3];
        variance += 0.0001;
        gain = variance / (variance + 0.16);
        variance *= 1 - gain;
        for (i = 0; i < 3; i++) {
            CHECK(request(b, i, duration[round / 3][i], 1 + round));
            x[i] += gain * (duration[round / 3][i] / 0.2 - x[i]);
            sum += exp(-x[i]);
        }
        CHECK(rllb_balancer_tick(b, 1.5 + round));
        for (i = 0; i < 3; i++) {
            w[i] = 3 * exp(-x[i]) / sum;
            CHECK_NEAR(info_of(b, i).weight_in_force, w[i], 1e-5);
        }
        if (round == 0) CHECK_NEAR(w[0], 3 * 0.50627, 1e-3); /* softmax(-.5, -1, -1.5) = .506, .307, .186 */
        for (i = 0; i < 30; i++) { /* and picks by SED over them */
            int32_t s = rllb_balancer_pick(b, 0, 1.5 + round), k;
            REQUIRE(s >= 0 && s < 3);
            for (k = 0; k < 3; k++) CHECK((q[s] + 1) / w[s] <= (1 + 1e-5) * (q[k] + 1) / w[k]);
            q[s]++;
        }
        for (i = 0; i < 3; i++) {
            for (; q[i] > 0; q[i]--) rllb_balancer_done(b, i, 1, 1.6 + round, RLLB_OUTCOME_CANCELLED);
        }
    }
    rllb_balancer_destroy(b);
}

/* Steps of EQUALISE: durations .16, .2, .25 have the geometric mean .2, so weights are multiplied by 1.25^eta, 1 and
   .8^eta: 1.0112, 1, .9889 with eta = .05. Beyond a factor of 1.5 either way, as at .05, .2, .8, by 1.5^eta: 1.0205. */
TEST(equalise_by_hand)
{
    static const double duration[2][3] = { { 0.16, 0.2, 0.25 }, { 0.05, 0.2, 0.8 } };
    static const double factor[2] = { 1.0112196, 1.0204801 };
    int32_t i, k, far;

    for (far = 0; far < 2; far++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_EQUALISE, 3);
        rllb_balancer *b = rllb_balancer_create(&d);
        double before = 1;
        int32_t steps = 0;
        REQUIRE(b != NULL);
        rllb_balancer_tick(b, 0);
        for (k = 1; k <= 9; k++) {
            double a, c;
            for (i = 0; i < 3; i++) CHECK(request(b, i, duration[far][i], k));
            CHECK(rllb_balancer_tick(b, k)); /* each second; it moves each two */
            a = (double)info_of(b, 0).weight_in_force / (double)info_of(b, 1).weight_in_force;
            c = (double)info_of(b, 2).weight_in_force / (double)info_of(b, 1).weight_in_force;
            CHECK_NEAR(a * c, 1, 1e-5);
            if (fabs(a - before) > 1e-6) {
                CHECK_NEAR(a / before, factor[far], 1e-5);
                steps++;
            }
            before = a;
        }
        CHECK_EQ_I(steps, 4);
        rllb_balancer_destroy(b);
    }
}

/* By stretch: durations of .2, .4 and .4 at servers that took .1, .2 and .1 with nothing in the way are stretches of
   2, 2 and 4: it is the third that has too much, not the slow second. */
TEST(equalise_by_stretch)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_EQUALISE, 3);
    static const double unloaded[3] = { 0.1, 0.2, 0.1 }, loaded[3] = { 0.2, 0.4, 0.4 };
    rllb_balancer *b;
    double now = 0, w[3];
    int32_t i, k;

    d.by_stretch = true;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (k = 0; k < 1000; k++) {
        now += 0.02;
        for (i = 0; i < 3; i++) CHECK(request(b, i, unloaded[i], now));
        rllb_balancer_tick(b, now);
    }
    for (i = 0; i < 3; i++) CHECK_REL((double)info_of(b, i).unloaded_s / unloaded[i], 1, 0.02);
    for (k = 0; k < 300; k++) {
        now += 0.02;
        for (i = 0; i < 3; i++) CHECK(request(b, i, loaded[i], now));
        rllb_balancer_tick(b, now);
    }
    for (i = 0; i < 3; i++) w[i] = (double)info_of(b, i).weight_in_force;
    NOTE("weights %.4f %.4f %.4f", w[0], w[1], w[2]);
    CHECK_NEAR(w[0] / w[1], 1, 0.01);
    CHECK(w[2] < 0.99 * w[0]);
    CHECK(w[2] > 0.9 * w[0]);
    rllb_balancer_destroy(b);
}

/* ---- PREQUAL ----------------------------------------------------------------------------------------------- */

static void reply(rllb_balancer *b, int32_t server, double rif, double latency_s, double now_s)
{
    rllb_report report = { 0, 0, NAN };

    report.in_flight = (float)rif;
    report.latency_s = (float)latency_s;
    CHECK_EQ_I(rllb_balancer_report(b, server, &report, now_s), RLLB_OK);
}

/* Of replies with 1, 2, 9, 3 in flight 9 alone is above the 0.84 quantile: hot. Of the cold the least latency wins,
   however quick the hot one is. Without any cold one it is the least in flight. */
TEST(prequal_hot_and_cold)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 4);
    rllb_balancer *b;

    d.reuse = 1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    reply(b, 0, 1, 0.05, 1);
    reply(b, 1, 2, 0.03, 1);
    reply(b, 2, 9, 0.01, 1);
    reply(b, 3, 3, 0.04, 1);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 1);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 3); /* a reply serves once here */
    rllb_balancer_destroy(b);
}

/* Fewer than two replies: at random, all usable servers alike. */
TEST(prequal_without_replies)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 5);
    double p[5] = { 0.25, 0.25, 0, 0.25, 0.25 };
    rllb_balancer *b;

    d.reuse = 1000000;
    d.reply_s = 1000;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_set_state(b, 2, RLLB_SERVER_DOWN, 1), RLLB_OK);
    CHECK(picks_z(b, p, 5, 20000) < 5);
    reply(b, 3, 0, 0.01, 1);
    CHECK(picks_z(b, p, 5, 20000) < 5);
    reply(b, 2, 0, 0.001, 1); /* a server that is down does not count */
    CHECK(picks_z(b, p, 5, 20000) < 5);
    reply(b, 1, 0, 0.02, 1);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 3);
    rllb_balancer_destroy(b);
}

/* Replies grow old after reply_s. */
TEST(prequal_ages)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 24);
    rllb_balancer *b;
    int32_t i, others = 0;

    d.reuse = 1000;
    d.hot = 1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    reply(b, 23, 50, 9, 1); /* nobody else is hot */
    reply(b, 3, 0, 0.01, 1);
    reply(b, 5, 0, 0.02, 1.5);
    reply(b, 7, 0, 0.03, 1.5);
    CHECK_EQ_I(peek(b, 0, 1.9), 3);
    CHECK_EQ_I(peek(b, 0, 1.99), 3);
    CHECK_EQ_I(peek(b, 0, 2.01), 5); /* the first is 1.01 s old */
    for (i = 0; i < 50; i++) others += peek(b, 0, 2.51) != 5; /* all are gone */
    CHECK(others > 25);
    rllb_balancer_destroy(b);
}

/* The pool holds sixteen replies; the oldest makes room. A reply serves `reuse` picks. */
TEST(prequal_pool_and_reuse)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 24);
    rllb_balancer *b;
    int32_t i;

    d.hot = 1; /* so that a server with 50 in flight makes all others cold */
    d.reply_s = 100;
    d.reuse = 100;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 16; i++) reply(b, i, i == 15 ? 50 : 1, 0.001 * (i + 1), 1 + i);
    for (i = 0; i < 10; i++) CHECK_EQ_I(peek(b, 0, 20), 0);
    reply(b, 16, 1, 0.5, 20);
    CHECK_EQ_I(peek(b, 0, 20), 1); /* the first had to go */
    reply(b, 2, 1, 0.0001, 21); /* a server has one reply, its newest: nobody has to go */
    CHECK_EQ_I(peek(b, 0, 21), 2);
    reply(b, 2, 1, 0.5, 22);
    CHECK_EQ_I(peek(b, 0, 22), 1);
    rllb_balancer_destroy(b);
    d.reuse = 2;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    reply(b, 23, 50, 9, 1);
    for (i = 0; i < 8; i++) reply(b, i, 1, 0.001 * (i + 1), 1);
    for (i = 0; i < 16; i++) CHECK_EQ_I(peek(b, 0, 1), i / 2);
    rllb_balancer_destroy(b);
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    reply(b, 0, 1, 0.5, 1);
    reply(b, 1, 50, 0.01, 1);
    CHECK_EQ_I(peek(b, 0, 1), 1); /* at the quantile is not above it ... */
    CHECK_EQ_I(peek(b, 0, 1), 0); /* ... but now there are 51 */
    rllb_balancer_destroy(b);
}

/* All of the pool above what was usual of late: the least in flight, whatever the latency. And a request sent counts
   until the next reply: it may make its server hot. */
TEST(prequal_all_hot)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 3);
    rllb_balancer *b;
    int32_t i;

    d.reuse = 100;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 57; i++) reply(b, i % 3, 1, 0.1, 1);
    reply(b, 0, 50, 0.001, 1);
    reply(b, 1, 40, 0.5, 1);
    reply(b, 2, 42, 0.001, 1);
    for (i = 0; i < 3; i++) CHECK_EQ_I(peek(b, 0, 1), 1); /* 40, 41, 42 with what we sent */
    CHECK_EQ_I(peek(b, 0, 1), 2);
    reply(b, 0, 1, 0.9, 1);
    CHECK_EQ_I(peek(b, 0, 1), 0); /* cold, though slow */
    CHECK_EQ_I(peek(b, 0, 1), 0); /* 2 is above 1, hot again, but the least of 43, 43 and 2 */
    rllb_balancer_destroy(b);
}

/* Up to `most` distinct usable servers to ask, all with the same chance. */
TEST(prequal_probes)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 8);
    rllb_balancer *b = rllb_balancer_create(&d);
    double count[8] = { 0 }, p[8];
    int32_t servers[16], i, k, n;

    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_set_state(b, 4, RLLB_SERVER_DOWN, 1), RLLB_OK);
    for (i = 0; i < 8; i++) p[i] = i == 4 ? 0 : 1 / 7.0;
    for (i = 0; i < 20000; i++) {
        n = rllb_balancer_probe(b, servers, 3);
        CHECK_EQ_I(n, 3);
        CHECK(servers[0] != servers[1] && servers[0] != servers[2] && servers[1] != servers[2]);
        for (k = 0; k < n; k++) count[servers[k]]++;
    }
    CHECK(chi_square_z(count, p, 8) < 5);
    n = rllb_balancer_probe(b, servers, 16);
    CHECK_EQ_I(n, 7);
    for (i = 0; i < n; i++) {
        for (k = 0; k < i; k++) CHECK(servers[i] != servers[k]);
        CHECK(servers[i] != 4);
    }
    rllb_balancer_destroy(b);
}

/* ---- LEARNED ----------------------------------------------------------------------------------------------- */

typedef struct controller {
    int32_t calls, observations, actions;
    float action[12], seen[64];
} controller;

static void control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    controller *c = (controller *)self;

    c->calls++;
    c->observations = observations;
    c->actions = actions;
    if (observations <= 64) memcpy(c->seen, observation, (size_t)observations * sizeof *observation);
    memcpy(action, c->action, (size_t)(actions < 12 ? actions : 12) * sizeof *action);
}

/* tick shows the controller what observe shows, and its numbers are in force afterwards. */
TEST(control_is_called_by_tick)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 3);
    rllb_balancer *b;
    const float *o;
    controller c;
    int32_t i, n;

    memset(&c, 0, sizeof c);
    c.action[0] = 2;
    c.action[1] = 8;
    c.action[2] = 5;
    d.control = control;
    d.control_self = &c;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    for (i = 0; i < 3; i++) CHECK(request(b, i, 0.1 * (i + 1), 1));
    n = c.calls;
    CHECK(rllb_balancer_tick(b, 1));
    CHECK_EQ_I(c.calls, n + 1);
    CHECK(!rllb_balancer_tick(b, 1.1));
    CHECK_EQ_I(c.calls, n + 1);
    CHECK_EQ_I(c.actions, 3);
    o = rllb_balancer_observe(b, &n);
    REQUIRE(o != NULL);
    CHECK_EQ_I(n, 18);
    CHECK_EQ_I(c.observations, 18);
    CHECK_MEM(c.seen, o, 18 * sizeof *o);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 0.4, 1e-6);
    CHECK_NEAR(info_of(b, 1).weight_in_force, 1.6, 1e-6);
    CHECK_NEAR(info_of(b, 2).weight_in_force, 1, 1e-6);
    CHECK_EQ_U(counters_of(b).controls, (uint64_t)c.calls);
    c.action[1] = (float)NAN;
    CHECK(rllb_balancer_tick(b, 2));
    CHECK_EQ_U(counters_of(b).controls_refused, 1);
    CHECK_NEAR(info_of(b, 1).weight_in_force, 1.6, 1e-6); /* what was in force stays */
    rllb_balancer_destroy(b);
}

TEST(control_form_has_three_more_actions)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 7);
    rllb_balancer *b;
    controller c;

    memset(&c, 0, sizeof c);
    d.control = control;
    d.control_self = &c;
    d.control_form = true;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_tick(b, 0);
    CHECK(rllb_balancer_tick(b, 1));
    CHECK_EQ_I(c.actions, 10);
    rllb_balancer_destroy(b);
}

/* d is rounded; what is out of range is refused with the whole action. */
TEST(control_form_refusals)
{
    static const float good[6] = { 1, 2, 3, 2.4f, 1, 0.5f };
    static const struct {
        int32_t at;
        float value;
    } wrong[10] = { { 3, 0 },  { 3, -1 }, { 3, 65 }, { 3, (float)NAN },      { 4, -0.5f },
                    { 4, 17 }, { 5, -1 }, { 5, 17 }, { 5, (float)INFINITY }, { 4, (float)NAN } };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 3);
    rllb_balancer *b;
    int32_t i, k;
    state s;

    memset(&s, 0, sizeof s);
    s.n = 3;
    d.control_form = true;
    d.form = RLLB_FORM_DRAW;
    d.ties = RLLB_TIES_RANDOM;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 3; i++) {
        s.w[i] = (double)good[i];
        s.q[i] = i;
        s.usable[i] = true;
        for (k = 0; k < i; k++) CHECK(send_to(b, i, 1));
    }
    CHECK_EQ_I(rllb_balancer_act(b, good, 6, 1), RLLB_OK);
    for (i = 0; i < 10; i++) {
        float action[6] = { 3, 2, 1, 1, 1, 1 };
        action[wrong[i].at] = wrong[i].value;
        NOTE("number %d is %g", (int)wrong[i].at, (double)wrong[i].value);
        CHECK(rllb_balancer_act(b, action, 6, 1) != RLLB_OK);
    }
    CHECK_EQ_U(counters_of(b).controls_refused, 10);
    check_draw(b, &s, 2, 1, 0.5); /* as it was */
    rllb_balancer_destroy(b);
}

/* HLB and EQUALISE in the other's form; a LEARNED one with a gap where a server was. */
TEST(other_forms)
{
    static const float action[4] = { 1, 7, 2, 3 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_EQUALISE, 0);
    rllb_balancer *b;
    int32_t i, k;
    state s;

    d.form = RLLB_FORM_SED;
    d.count = 7;
    walk(d, cost_sed, 0, 500); /* without durations weights stay equal */
    d = plain(RLLB_BALANCE_HLB, 3);
    d.form = RLLB_FORM_DRAW;
    d.d = 2;
    d.ties = RLLB_TIES_RANDOM;
    d.slots = 1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    memset(&s, 0, sizeof s);
    s.n = 3;
    for (i = 0; i < 3; i++) CHECK(request(b, i, 0.1 * (i + 1), 1));
    CHECK(rllb_balancer_tick(b, 1));
    for (i = 0; i < 3; i++) {
        s.w[i] = (double)info_of(b, i).weight_in_force;
        s.q[i] = 2 - i;
        s.usable[i] = true;
        for (k = 2 - i; k > 0; k--) CHECK(send_to(b, i, 1));
    }
    CHECK(s.w[0] > 1.5 * s.w[1] && s.w[1] > 1.5 * s.w[2]);
    check_draw(b, &s, 2, 1, 0);
    rllb_balancer_destroy(b);
    b = rllb_balancer_create((d = plain(RLLB_BALANCE_LEARNED, 4), &d));
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_remove(b, 1, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_servers(b), 4);
    CHECK_EQ_I(rllb_balancer_act(b, action, 4, 1), RLLB_OK); /* one number for the gap, which is not looked at */
    for (i = 0; i < 4; i++) {
        if (i != 1) CHECK_NEAR(info_of(b, i).weight_in_force, (double)action[i] / 2, 1e-6);
    }
    CHECK_EQ_I(rllb_balancer_remove(b, 3, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_servers(b), 3);
    CHECK(rllb_balancer_act(b, action, 4, 1) != RLLB_OK);
    CHECK_EQ_I(rllb_balancer_act(b, action, 3, 1), RLLB_OK);
    rllb_balancer_destroy(b);
}

/* Smoothing and blend: of 1, 1 and an action of 3, 1 (1.5, .5 of their mean) half as it was is 1.25, .75. */
TEST(smoothing_and_blend)
{
    static const float action[2] = { 3, 1 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 2);
    rllb_balancer *b;

    d.smoothing = 0.5f;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_act(b, action, 2, 1), RLLB_OK);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 1.25, 1e-6);
    CHECK_EQ_I(rllb_balancer_act(b, action, 2, 2), RLLB_OK);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 1.375, 1e-6);
    rllb_balancer_destroy(b);
    d.smoothing = 0;
    d.blend = 0.25f;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_act(b, action, 2, 1), RLLB_OK);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 1.125, 1e-6);
    CHECK_EQ_I(rllb_balancer_set_trust(b, false, 1, 2), RLLB_OK);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 1.5, 1e-6);
    CHECK_EQ_I(rllb_balancer_set_trust(b, false, 0, 2), RLLB_OK);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 1, 1e-6);
    rllb_balancer_destroy(b);
}

/* Checked as a whole: what was in force stays. */
TEST(wrong_actions)
{
    static const float good[3] = { 1, 2, 3 };
    static const float odd[4] = { (float)NAN, (float)INFINITY, -(float)INFINITY, -1 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 3);
    rllb_balancer *b = rllb_balancer_create(&d);
    uint64_t refused = 0;
    int32_t i, k;

    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_act(b, good, 3, 1), RLLB_OK);
    for (i = 0; i < 3; i++) {
        for (k = 0; k < 4; k++) {
            float action[3] = { 5, 5, 5 };
            action[i] = odd[k];
            CHECK(rllb_balancer_act(b, action, 3, 1) != RLLB_OK);
            CHECK_EQ_U(counters_of(b).controls_refused, ++refused);
        }
    }
    for (k = -1; k < 6; k++) {
        float action[6] = { 5, 5, 5, 5, 5, 5 };
        if (k == 3) continue;
        CHECK(rllb_balancer_act(b, action, k, 1) != RLLB_OK);
        CHECK_EQ_U(counters_of(b).controls_refused, ++refused);
    }
    { /* nothing but zeros says nothing */
        static const float zeros[3] = { 0, 0, 0 };
        CHECK(rllb_balancer_act(b, zeros, 3, 1) != RLLB_OK);
    }
    for (i = 0; i < 3; i++) CHECK_NEAR(info_of(b, i).weight_in_force, 0.5 * (1 + i), 1e-6);
    CHECK_EQ_U(counters_of(b).controls, 1);
    CHECK(rllb_balancer_act(b, NULL, 3, 1) != RLLB_OK);
    CHECK(rllb_balancer_act(b, good, 3, NOT_A_NUMBER) != RLLB_OK);
    CHECK(rllb_balancer_act(b, good, 3, 2) == RLLB_OK);
    rllb_balancer_destroy(b);
    d.policy = RLLB_BALANCE_SED;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(rllb_balancer_act(b, good, 3, 1) != RLLB_OK); /* not this one's business */
    rllb_balancer_destroy(b);
}

/* Before the first action, and while AWCMP was told nothing, the configured weights are in force. */
TEST(weights_before_they_are_found)
{
    static const rllb_balance policies[4] = { RLLB_BALANCE_LEARNED, RLLB_BALANCE_AWCMP, RLLB_BALANCE_EQUALISE,
                                              RLLB_BALANCE_HLB };
    static const float weight[3] = { 1, 2, 6 };
    int32_t i, k;

    for (i = 0; i < 4; i++) {
        rllb_balancer *b = weighted(policies[i], weight, 3);
        REQUIRE(b != NULL);
        NOTE("%s", rllb_balance_name(policies[i]));
        for (k = 0; k < 3; k++) CHECK_NEAR(info_of(b, k).weight_in_force, (double)weight[k] / 3, 1e-6);
        rllb_balancer_tick(b, 1);
        rllb_balancer_tick(b, 2);
        for (k = 0; k < 3; k++) CHECK_NEAR(info_of(b, k).weight_in_force, (double)weight[k] / 3, 1e-6);
        CHECK_EQ_I(rllb_balancer_set_weight(b, 2, 3, 2), RLLB_OK);
        for (k = 0; k < 3; k++) CHECK_NEAR(info_of(b, k).weight_in_force, (k + 1) / 2.0, 1e-6);
        rllb_balancer_destroy(b);
    }
}

/* All policies at the limit, tables and all: every pick is a server, and what can reach them all does. */
TEST(all_policies_at_the_limit)
{
    static float oracle[RLLB_BALANCER_SERVERS_MAX];
    static int32_t count[RLLB_BALANCER_SERVERS_MAX];
    chooser c = { NULL, RLLB_BALANCER_SERVERS_MAX, 0, -2, 0 };
    int32_t policy, i, wrong, reached;

    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        rllb_balancer_desc d = plain((rllb_balance)policy, RLLB_BALANCER_SERVERS_MAX);
        rllb_balancer *b;
        d.ties = RLLB_TIES_RANDOM;
        d.slots = rllb_i_finds(d.policy) ? 2 : 0;
        d.oracle = oracle;
        d.choose = choose;
        d.choose_self = &c;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        memset(count, 0, sizeof count);
        for (i = 0, wrong = 0; i < 500; i++) {
            int32_t s = rllb_balancer_pick(b, 0, 1);
            wrong += s < 0 || s >= RLLB_BALANCER_SERVERS_MAX;
            if (s >= 0 && s < RLLB_BALANCER_SERVERS_MAX) count[s]++;
        }
        for (i = 0, reached = 0; i < RLLB_BALANCER_SERVERS_MAX; i++) reached += count[i] > 0;
        NOTE("%s: 500 picks reached %d servers", rllb_balance_name((rllb_balance)policy), (int)reached);
        CHECK_EQ_I(wrong, 0);
        CHECK(reached > 430); /* 4096 (1 - exp(-500 / 4096)) = 471 at random */
        CHECK(rllb_balancer_tick(b, 2));
        rllb_balancer_destroy(b);
    }
}
