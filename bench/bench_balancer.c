/* What the balancer of rllb.h costs: pick by every policy at n servers, done, sample, tick. Build from the root of the
   tree with
       cc -std=c99 -D_POSIX_C_SOURCE=200809L -O3 -I. -Ibench bench/bench_balancer.c -lm -o bench_balancer
   It prints nanoseconds, less is better; the limit column holds the goals where there are some.
       pick_POLICY_N        one pick among N servers (see below); pick_sed_24_w2, _w4: as many workers share the block
       pick_learned_N       weights set by a controller, picks by SED; pick_learned_draw_N by DRAW. The limit is 1.02
                            times sed's (draw's) own figure, timed in turn with it
       request_sed_24       a pick and its done, as they come
       done, done_bare      the end of a request: sample into a reservoir of 128 slots; without reservoirs
       sample               a flow that is still running: sample into a reservoir of 128 slots
       tick_24, tick_1024   the work of an interval for as many servers of 128 full slots, NEURIPS features (16 + 11 a
                            server), a controller that only writes its answer; _cikm, _own, _relative: with these
                            features, the last without reservoirs
       control_24           a whole control step: the same with CIKM features, and the network that marl_train trains by
                            default for as many servers: two layers of 128, a GRU of 128, a layer of 128, six choices
       control_24_set       the same with RELATIVE features and the network that marl_search finds: for any number of
                            servers, 24 wide, actions that are steps, and d, a, gamma besides
       qlearn_choose_3, qlearn_update_3   tabular Q-learning for three servers: 27 states in a dense table, one of them
                            at random each time; epsilon 0.1, all usable. _12: twelve servers, 50,000 states met in a
                            hashed table of 65,536 (4 MB)
       qlearn_observe       three metrics of a server to its level and the state
       clock                shifts and exclusive ors that wait for each other, per nanosecond: the GHz that the figures
                            were made at

   How a pick is timed. A ring holds 2 N requests in flight on servers of weights 1, 2, 3, 4, 1, ...; one of them at
   random ends and a new one takes its place, so that queues are as uneven, ties as frequent and branches as
   unforeseeable as in traffic. The clock is too coarse to stand around single picks. So the whole loop is timed, then
   the same ends alone (thousands of requests picked with the clock off, then ended), and the pick is the difference.
   Reading the ring and counting keys count as part of the pick: about one nanosecond. What one request needs besides
   counts with the ends: three probe replies for prequal, as published, and the simulator's queue lengths for oracles.
   A handle for each worker, in turn on one thread: that is the cost of adding up; memory that travels between cores is
   not in it.

   Ticks and control steps, and the requests between them, allocate nothing: the program fails if the headers ask for
   memory there, or if a balancer refuses what its network answers. The networks' parameters are fresh, which costs as
   much as trained ones, or more: steps that nobody taught end at the rails, and to hold weights there takes longer. */

#include <stdint.h>
#include <stdlib.h>

static int64_t blocks_asked_for;

void *counted_malloc(size_t bytes); /* not static: where the headers are linked instead, nobody calls it */

void *counted_malloc(size_t bytes)
{
    blocks_asked_for++;
    return malloc(bytes);
}

#define RLLB_MALLOC(bytes) counted_malloc(bytes)
#define RLLB_FREE(pointer) free(pointer)
#define RLLB_IMPLEMENTATION
#include "rllb_nn.h"

#include "bench.h"

enum { SERVERS_MOST = 4096, RING_MOST = 2 * SERVERS_MOST, WORKERS_MOST = 4, ORDER = 1 << 16, BATCH_MOST = 16384 };

/* Ten thousand requests a second; while warming up, five hundred. */
#define STEP_S 1e-4
#define WARM_STEP_S 2e-3

typedef struct request {
    double started_s;
    int32_t server;
} request;

typedef struct rig {
    rllb_balancer *worker[WORKERS_MOST]; /* the requests of ring[i] belong to worker i modulo `workers` */
    int32_t servers, workers, replies;   /* replies: probe replies a request */
    float *oracle;                       /* NULL: nobody looks at it */
    double now_s;
    uint64_t key;
    uint32_t at; /* in order */
    request ring[RING_MOST], batch[BATCH_MOST];
    uint16_t order[ORDER]; /* which requests end */
    float queue[SERVERS_MOST];
    void *shared;
    double pick_s;             /* about, for the size of samples */
    int32_t loops, batch_size; /* of one sample */
} rig;

/* What a request costs, seconds. */
typedef struct cost {
    double request, end, pick;
} cost;

static void out_of_memory(void)
{
    fprintf(stderr, "bench_balancer: not enough memory\n");
    exit(1);
}

/* ---- users' functions -------------------------------------------------------------------------------------------- */

static float weight_of(int32_t server)
{
    return (float)(1 + server % 4);
}

/* The weights that the servers have anyway. */
static void control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    int32_t i;

    (void)self;
    (void)observation;
    (void)observations;
    for (i = 0; i < actions; i++) action[i] = weight_of(i);
}

/* A rule that costs next to nothing: the better of two neighbours. */
static int32_t choose(void *self, const float *observation, int32_t observations)
{
    uint32_t *turn = (uint32_t *)self;
    int32_t one, other;

    *turn += 0x9e3779b9u;
    one = (int32_t)(((uint64_t)*turn * (uint32_t)observations) >> 32);
    other = one > 0 ? one - 1 : observations - 1;
    return observation[other] < observation[one] ? other : one;
}

/* ---- traffic ----------------------------------------------------------------------------------------------------- */

/* Probes of random servers have come back. */
static void hear_replies(rig *r, rllb_balancer *b)
{
    rllb_report report;
    uint64_t x = r->key;
    int32_t i;

    for (i = 0; i < r->replies; i++) {
        x = x * 0xd1342543de82ef95u + 1;
        report.in_flight = (float)(int32_t)(x >> 60);
        report.latency_s = 0.01f * report.in_flight;
        report.utilisation = 0;
        rllb_balancer_report(b, (int32_t)(((x >> 32) * (uint64_t)(uint32_t)r->servers) >> 32), &report, r->now_s);
    }
}

static inline void begin(rig *r, rllb_balancer *b, request *q)
{
    r->key += 0x9e3779b97f4a7c15u;
    q->started_s = r->now_s;
    q->server = rllb_balancer_pick(b, r->key, r->now_s);
    if (r->oracle) r->oracle[q->server] += 1;
}

static inline void end(rig *r, rllb_balancer *b, const request *q, double step_s)
{
    r->now_s += step_s;
    rllb_balancer_done(b, q->server, q->started_s, r->now_s, RLLB_OUTCOME_OK);
    if (r->oracle) r->oracle[q->server] -= 1;
    if (r->replies) hear_replies(r, b);
}

static inline void one_more(rig *r, double step_s)
{
    uint32_t slot = r->order[r->at++ % ORDER];
    rllb_balancer *b = r->worker[slot & (uint32_t)(r->workers - 1)];

    end(r, b, &r->ring[slot], step_s);
    begin(r, b, &r->ring[slot]);
}

/* Half a minute passes in which every server answers and says how it is, so that weights and averages are settled. */
static void warm_up(rig *r)
{
    rllb_report report;
    double from_s;
    int32_t i;

    for (i = 0; i < 2 * r->servers; i++) begin(r, r->worker[i & (r->workers - 1)], &r->ring[i]);
    for (i = 0; i < r->servers; i++) {
        report.in_flight = 2;
        report.latency_s = 0.01f / weight_of(i);
        report.utilisation = 0.5f;
        rllb_balancer_report(r->worker[0], i, &report, r->now_s);
    }
    from_s = bench_now_s();
    for (i = 0; i < 15000; i++) {
        one_more(r, WARM_STEP_S);
        rllb_balancer_tick(r->worker[0], r->now_s);
        if (i % 250 == 249 && bench_now_s() - from_s > 0.05) r->now_s += 0.25; /* the slow ones: fewer requests */
        if (i > 5000 && bench_now_s() - from_s > 0.2) break;
    }
}

static void rig_open(rig *r, const rllb_balancer_desc *desc, int32_t servers, int32_t workers, uint64_t seed)
{
    static rllb_server_desc list[SERVERS_MOST];
    rllb_balancer_desc d = *desc;
    rllb_rng rng;
    int32_t i;

    memset(r, 0, sizeof *r);
    for (i = 0; i < servers; i++) list[i].weight = weight_of(i);
    r->servers = servers;
    r->workers = workers;
    r->replies = d.policy == RLLB_BALANCE_PREQUAL ? 3 : 0;
    if (d.policy == RLLB_BALANCE_GSQ || d.policy == RLLB_BALANCE_SRT || d.policy == RLLB_BALANCE_SED_ORACLE) {
        d.oracle = r->oracle = r->queue;
    }
    d.servers = list;
    d.count = servers;
    d.workers = workers;
    d.seed = seed;
    if (workers > 1) {
        d.shared_size = rllb_balancer_shared_size(&d);
        if (posix_memalign(&r->shared, 64, d.shared_size)) out_of_memory();
        d.shared = r->shared;
    }
    for (i = 0; i < workers; i++) {
        d.worker = i;
        d.join = i > 0;
        r->worker[i] = rllb_balancer_create(&d);
        if (!r->worker[i]) out_of_memory();
    }
    rllb_rng_init(&rng, seed, 1u << 30);
    for (i = 0; i < ORDER; i++) r->order[i] = (uint16_t)rllb_rng_below(&rng, 2 * servers);
    warm_up(r);
}

/* What was measured is what the name says: every pick found a server, every end was one, a controller was in force. */
static void rig_check(const rig *r)
{
    rllb_balancer_desc d;
    rllb_counters c;

    rllb_balancer_desc_default(&d);
    rllb_balancer_query(r->worker[0], &d);
    rllb_balancer_counters(r->worker[0], &c);
    if (!c.no_server && !c.stray_done && !c.bad_server && !c.bad_time && !c.choose_refused && !c.ejections &&
        !c.controls_refused && !c.fallbacks && (d.policy == RLLB_BALANCE_LEARNED) == (c.controls > 0)) {
        return;
    }
    fprintf(stderr, "bench_balancer: %s did not do its work\n", rllb_balance_name(d.policy));
    exit(1);
}

static void rig_close(rig *r)
{
    int32_t i;

    rig_check(r);
    for (i = r->workers - 1; i >= 0; i--) rllb_balancer_destroy(r->worker[i]);
    free(r->shared);
}

/* ---- a pick ------------------------------------------------------------------------------------------------------ */

static double time_requests(rig *r, int32_t count)
{
    double from_s = bench_now_s();
    int32_t i;

    for (i = 0; i < count; i++) one_more(r, STEP_S);
    return (bench_now_s() - from_s) / count;
}

static double time_ends(rig *r, int32_t count)
{
    double from_s;
    int32_t i;

    for (i = 0; i < count; i++) {
        r->now_s += STEP_S;
        begin(r, r->worker[i & (r->workers - 1)], &r->batch[i]);
    }
    from_s = bench_now_s();
    for (i = 0; i < count; i++) end(r, r->worker[i & (r->workers - 1)], &r->batch[i], STEP_S);
    return (bench_now_s() - from_s) / count;
}

/* Two thousandths of a second for the loop and for the picks before the ends. */
static void rig_calibrate(rig *r)
{
    static const double part_s = 0.002;
    double request_s = time_requests(r, 64);

    if (request_s * 4096 < part_s) request_s = time_requests(r, 4096);
    r->loops = (int32_t)fmax(64, fmin(part_s / request_s, 1e6));
    r->batch_size = (int32_t)fmax(64, fmin(part_s / request_s, BATCH_MOST));
    time_ends(r, r->batch_size);
}

static cost rig_sample(rig *r)
{
    cost c;

    c.end = time_ends(r, r->batch_size);
    c.request = time_requests(r, r->loops);
    c.pick = c.request - c.end;
    return c;
}

static cost rig_time(const bench *b, rig *r)
{
    double requests[BENCH_SAMPLES_MAX], ends[BENCH_SAMPLES_MAX], picks[BENCH_SAMPLES_MAX];
    cost c;
    int i;

    rig_calibrate(r);
    for (i = 0; i < b->samples; i++) {
        c = rig_sample(r);
        requests[i] = c.request;
        ends[i] = c.end;
        picks[i] = c.pick;
    }
    c.request = bench_median(requests, b->samples);
    c.end = bench_median(ends, b->samples);
    c.pick = bench_median(picks, b->samples);
    return c;
}

/* The goals, in nanoseconds; 0: none. */
static double pick_limit(rllb_balance policy, int32_t servers)
{
    if (policy == RLLB_BALANCE_SED) return servers == 7 ? 15 : servers == 24 ? 25 : servers == 1024 ? 150 : 0;
    if (policy == RLLB_BALANCE_DRAW) return 20;
    return policy == RLLB_BALANCE_WCMP || policy == RLLB_BALANCE_MAGLEV ? 10 : 0;
}

static rllb_balancer_desc desc_of(rllb_balance policy)
{
    static uint32_t turn;
    rllb_balancer_desc d;

    rllb_balancer_desc_default(&d);
    d.policy = policy;
    d.control = control;
    d.choose = choose;
    d.choose_self = &turn;
    return d;
}

static void pick_job(bench *b, rig *r, const char *name, rllb_balance policy, int32_t servers, int32_t workers)
{
    rllb_balancer_desc d = desc_of(policy);

    if (!bench_wanted(b, name)) return;
    rig_open(r, &d, servers, workers, b->seed);
    bench_row(b, name, rig_time(b, r).pick * 1e9, "ns", pick_limit(policy, servers), BENCH_LESS_IS_BETTER);
    rig_close(r);
}

/* Both have reservoirs, as the learned one must: the difference is that of the picks. */
static void learned_job(bench *b, rig *r, rig *plain, const char *name, rllb_form form, int32_t servers)
{
    double pick[BENCH_SAMPLES_MAX], ratio[BENCH_SAMPLES_MAX], middle;
    rllb_balancer_desc d = desc_of(RLLB_BALANCE_LEARNED);
    int i;

    if (!bench_wanted(b, name)) return;
    d.slots = 128;
    d.form = form;
    rig_open(r, &d, servers, 1, b->seed);
    d.policy = form == RLLB_FORM_DRAW ? RLLB_BALANCE_DRAW : RLLB_BALANCE_SED;
    rig_open(plain, &d, servers, 1, b->seed);
    rig_calibrate(r);
    rig_calibrate(plain);
    for (i = 0; i < b->samples; i++) {
        double own = rig_sample(plain).pick;
        pick[i] = rig_sample(r).pick;
        ratio[i] = own / pick[i];
    }
    middle = bench_median(pick, b->samples) * 1e9;
    bench_row(b, name, middle, "ns", 1.02 * bench_median(ratio, b->samples) * middle, BENCH_LESS_IS_BETTER);
    rig_close(plain);
    rig_close(r);
}

static void pick_jobs(bench *b, rig *r, rig *plain)
{
    static const int32_t sizes[] = { 3, 7, 24, 64, 256, 1024, 4096 };
    char name[64];
    int32_t policy, i;

    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        for (i = 0; i < (int32_t)(sizeof sizes / sizeof *sizes); i++) {
            snprintf(name, sizeof name, "pick_%s_%d", rllb_balance_name((rllb_balance)policy), (int)sizes[i]);
            if (policy != RLLB_BALANCE_LEARNED) {
                pick_job(b, r, name, (rllb_balance)policy, sizes[i], 1);
                continue;
            }
            learned_job(b, r, plain, name, RLLB_FORM_SED, sizes[i]);
            snprintf(name, sizeof name, "pick_learned_draw_%d", (int)sizes[i]);
            learned_job(b, r, plain, name, RLLB_FORM_DRAW, sizes[i]);
        }
    }
    pick_job(b, r, "pick_sed_24_w2", RLLB_BALANCE_SED, 24, 2);
    pick_job(b, r, "pick_sed_24_w4", RLLB_BALANCE_SED, 24, 4);
}

/* ---- what else a request costs ----------------------------------------------------------------------------------- */

static void sample_flows(void *user)
{
    rig *r = (rig *)user;
    int32_t i;

    for (i = 0; i < 1024; i++) {
        const request *q = &r->ring[r->order[r->at++ % ORDER]];
        r->now_s += 1e-6;
        rllb_balancer_sample(r->worker[0], q->server, r->now_s - q->started_s, r->now_s);
    }
}

static void end_jobs(bench *b, rig *r)
{
    rllb_balancer_desc d = desc_of(RLLB_BALANCE_SED);
    cost c;

    if (bench_wanted(b, "request_sed_24") || bench_wanted(b, "done_bare")) {
        rig_open(r, &d, 24, 1, b->seed);
        c = rig_time(b, r);
        if (bench_wanted(b, "request_sed_24")) {
            bench_row(b, "request_sed_24", c.request * 1e9, "ns", 0, BENCH_LESS_IS_BETTER);
        }
        if (bench_wanted(b, "done_bare")) bench_row(b, "done_bare", c.end * 1e9, "ns", 20, BENCH_LESS_IS_BETTER);
        rig_close(r);
    }
    d.slots = 128;
    if (bench_wanted(b, "done") || bench_wanted(b, "sample")) {
        rig_open(r, &d, 24, 1, b->seed);
        if (bench_wanted(b, "done")) bench_row(b, "done", rig_time(b, r).end * 1e9, "ns", 20, BENCH_LESS_IS_BETTER);
        if (bench_wanted(b, "sample")) {
            bench quick = *b;
            quick.sample_s = 0.004;
            bench_row(b, "sample", bench_time(&quick, sample_flows, r, NULL, NULL).job_s / 1024 * 1e9, "ns", 0,
                      BENCH_LESS_IS_BETTER);
        }
        rig_close(r);
    }
}

/* ---- a tick ------------------------------------------------------------------------------------------------------ */

/* A quarter of a second of traffic, the clock off; then its tick. Answers the time of `count` ticks, a tick. */
static double time_ticks(rig *r, int32_t count)
{
    double sum_s = 0;
    int32_t i, k, requests = 8 * r->servers;

    for (i = 0; i < count; i++) {
        double from_s;
        bool worked;
        for (k = 0; k < requests; k++) one_more(r, 0.25 / requests);
        from_s = bench_now_s();
        worked = rllb_balancer_tick(r->worker[0], r->now_s);
        sum_s += bench_now_s() - from_s;
        i -= !worked; /* rounding kept it a hair before its time */
    }
    return sum_s / count;
}

static void tick_row(bench *b, rig *r, const char *name, const rllb_balancer_desc *d, int32_t servers, double limit_us)
{
    double tick_s[BENCH_SAMPLES_MAX];
    int32_t count = servers < 100 ? 32 : 2;
    int64_t blocks;
    int i;

    rig_open(r, d, servers, 1, b->seed);
    blocks = blocks_asked_for;
    time_ticks(r, 40); /* fills the slots: 320 samples a server */
    for (i = 0; i < b->samples; i++) tick_s[i] = time_ticks(r, count);
    if (blocks_asked_for != blocks) {
        fprintf(stderr, "bench_balancer: %s allocates\n", name);
        exit(1);
    }
    rig_close(r); /* no row of work that was not done */
    bench_row(b, name, bench_median(tick_s, b->samples) * 1e6, "us", limit_us, BENCH_LESS_IS_BETTER);
}

static void tick_job(bench *b, rig *r, const char *name, rllb_features features, int32_t servers, double limit_us)
{
    rllb_balancer_desc d = desc_of(RLLB_BALANCE_LEARNED);

    d.features = features;
    if (bench_wanted(b, name)) tick_row(b, r, name, &d, servers, limit_us);
}

/* ---- a control step ---------------------------------------------------------------------------------------------- */

enum { CONTROLLED = 24, UNITS = 128, SET_UNITS = 24, SET_MOST = 64 };

/* As marl_train has it by default. */
static void describe_flat(rllb_nn_policy_desc *p, rllb_balancer_desc *d)
{
    p->space.observations = 6 * CONTROLLED;
    p->space.heads = CONTROLLED;
    p->space.choices = 6;
    p->space.last_action = true;
    rllb_nn_values_linear(1, 2, 6, p->values);
    p->net.hidden[0] = p->net.hidden[1] = p->net.gru = p->net.after[0] = UNITS;
    p->net.normalise = true;
    d->features = RLLB_FEATURES_CIKM;
}

/* As marl_search has it. */
static void describe_set(rllb_nn_policy_desc *p, rllb_balancer_desc *d)
{
    static const float common[3][2] = { { 1.5f, 16 }, { 0.7f, 1.5f }, { 0.05f, 1.5f } }; /* d, a, gamma */
    int32_t k;

    p->space.observations = 6;
    p->space.item_observations = 9;
    p->space.items = SET_MOST;
    p->space.common = 3;
    p->logarithmic = true;
    p->values[0] = 1 / 1.5f;
    p->values[1] = 1.5f;
    for (k = 0; k < 3; k++) memcpy(p->common[k], common[k], sizeof common[k]);
    p->net.hidden[0] = p->net.after[0] = SET_UNITS;
    p->net.activation = RLLB_NN_LEAKY_RELU;
    p->net.leak = 0.1f;
    d->features = RLLB_FEATURES_RELATIVE;
    d->form = RLLB_FORM_DRAW;
    d->d = 5;
    d->gamma = 0.27f;
    d->control_form = true;
    d->control_steps = true;
}

static void control_job(bench *b, rig *r, const char *name, bool set)
{
    rllb_balancer_desc d = desc_of(RLLB_BALANCE_LEARNED);
    rllb_nn_policy_desc p;
    rllb_nn_policy *policy;

    if (!bench_wanted(b, name)) return;
    rllb_nn_policy_desc_default(&p);
    p.net.seed = b->seed;
    if (set) describe_set(&p, &d);
    else describe_flat(&p, &d);
    policy = rllb_nn_policy_create(&p);
    if (!policy) out_of_memory();
    d.control = rllb_nn_policy_control;
    d.control_self = policy;
    tick_row(b, r, name, &d, CONTROLLED, 60);
    rllb_nn_policy_destroy(policy);
}

/* ---- Q-learning -------------------------------------------------------------------------------------------------- */

enum { Q_CALLS = 1024 };

typedef struct table {
    rllb_qlearn *q;
    uint64_t states[ORDER]; /* at random */
    uint32_t at;
    int32_t servers;
    float cost[RLLB_QLEARN_SERVERS_MAX];
    int64_t sum; /* of what was chosen */
} table;

static void q_choose(void *user)
{
    table *t = (table *)user;
    int32_t i;

    for (i = 0; i < Q_CALLS; i++) {
        rllb_qlearn_set_state(t->q, t->states[t->at++ % ORDER]);
        t->sum += rllb_qlearn_choose(t->q, t->cost, t->servers);
    }
}

static void q_update(void *user)
{
    table *t = (table *)user;
    rllb_qlearn_step step;
    int32_t i;

    for (i = 0; i < Q_CALLS; i++) {
        step.state = t->states[t->at++ % ORDER];
        step.action = (int32_t)(t->at % (uint32_t)t->servers);
        rllb_qlearn_update(t->q, &step, -(float)(step.action + 1), t->states[t->at % ORDER]);
    }
}

static void q_observe(void *user)
{
    table *t = (table *)user;
    int32_t i;

    for (i = 0; i < Q_CALLS; i++) {
        uint64_t x = t->states[t->at++ % ORDER];
        float metrics[3];
        metrics[0] = (float)(x % 101);
        metrics[1] = (float)(x % 13);
        metrics[2] = (float)(x % 251);
        rllb_qlearn_observe(t->q, i % 3, metrics);
    }
}

static void q_row(bench *b, table *t, const char *name, bench_fn job)
{
    bench quick = *b;

    quick.sample_s = 0.004;
    bench_row(b, name, bench_time(&quick, job, t, NULL, NULL).job_s / Q_CALLS * 1e9, "ns", 0, BENCH_LESS_IS_BETTER);
}

/* Every state is met before anything is timed. */
static void q_open(table *t, rllb_qlearn_desc *d, uint64_t met, uint64_t seed)
{
    rllb_rng rng;
    int32_t i;

    memset(t, 0, sizeof *t);
    rllb_rng_init(&rng, seed, 1u << 29);
    for (i = 0; i < ORDER; i++) {
        t->states[i] = (uint64_t)rllb_rng_below(&rng, (int32_t)met) * (d->states ? d->states / met : 1);
    }
    for (i = 0; i < RLLB_QLEARN_SERVERS_MAX; i++) t->cost[i] = 1;
    t->servers = d->servers;
    d->epsilon_min = 0.1f;
    d->seed = seed;
    t->q = rllb_qlearn_create(d);
    if (!t->q) out_of_memory();
    for (i = 0; i < ORDER / Q_CALLS; i++) q_update(t);
}

/* What was timed was work: no answer missing, no update refused. */
static void q_close(table *t)
{
    rllb_qlearn_info info;

    memset(&info, 0, sizeof info);
    rllb_qlearn_query(t->q, NULL, &info);
    if (info.refused || info.no_server || t->sum < 0 || !info.updates) {
        fprintf(stderr, "bench_balancer: Q-learning did not do its work\n");
        exit(1);
    }
    rllb_qlearn_destroy(t->q);
}

/* A table by states of its own, one that is hashed, one by metrics. */
static void q_jobs(bench *b)
{
    static const struct {
        const char *name;
        bench_fn job;
        int32_t servers;
        uint64_t states, met;
    } jobs[] = {
        { "qlearn_choose_3", q_choose, 3, 27, 27 },
        { "qlearn_update_3", q_update, 3, 27, 27 },
        { "qlearn_choose_12", q_choose, 12, 531441, 50000 },
        { "qlearn_update_12", q_update, 12, 531441, 50000 },
        { "qlearn_observe", q_observe, 3, 0, 27 },
    };
    static table t;
    size_t i;

    for (i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        rllb_qlearn_desc d;
        if (!bench_wanted(b, jobs[i].name)) continue;
        rllb_qlearn_desc_default(&d);
        d.servers = jobs[i].servers;
        d.states = jobs[i].states;
        q_open(&t, &d, jobs[i].met, b->seed);
        q_row(b, &t, jobs[i].name, jobs[i].job);
        q_close(&t);
    }
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

/* Xorshift: six operations that wait for each other, 1,000 times over. */
static void shift(void *user)
{
    uint64_t x = *(uint64_t *)user;
    int32_t i;

    for (i = 0; i < 1000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    *(uint64_t *)user = x;
}

int main(int argc, char **argv)
{
    static rig r, plain;
    uint64_t x = 1;
    bench b;

    bench_open(&b, argc, argv, "what the balancer of rllb.h costs, one thread");
    if (bench_wanted(&b, "clock")) {
        bench quick = b;
        quick.sample_s = 0.004;
        bench_row(&b, "clock", 6000e-9 / bench_time(&quick, shift, &x, NULL, NULL).job_s, "GHz", 0,
                  BENCH_MORE_IS_BETTER);
    }
    pick_jobs(&b, &r, &plain);
    end_jobs(&b, &r);
    tick_job(&b, &r, "tick_24", RLLB_FEATURES_NEURIPS, 24, 30);
    tick_job(&b, &r, "tick_24_cikm", RLLB_FEATURES_CIKM, 24, 30);
    tick_job(&b, &r, "tick_24_own", RLLB_FEATURES_OWN, 24, 30);
    tick_job(&b, &r, "tick_24_relative", RLLB_FEATURES_RELATIVE, 24, 30);
    tick_job(&b, &r, "tick_1024", RLLB_FEATURES_NEURIPS, 1024, 0);
    control_job(&b, &r, "control_24", false);
    control_job(&b, &r, "control_24_set", true);
    q_jobs(&b);
    return bench_close(&b);
}
