/* test_balancer_threads.c - four workers on one block while a keeper looks after it. ThreadSanitizer runs this too.

   Each thread has a handle of its own. The keeper is a fifth one or the first worker. Time is a number that the keeper
   moves on; nothing else orders the threads, so whatever the library forgets to order shows. */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define RLLB_STATIC
#include "rllb.h"
#include "test.h"

enum { WORKERS = 4, SERVERS = 6, CAPACITY = 12, FLYING = 8, TEXT = 32768, CHANGES = 10, STEPS_MAX = 10000000 };

static uint64_t get(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void set(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/* ---- a block and its handles --------------------------------------------------------------------------------- */

typedef struct world world;

typedef struct worker {
    world *w;
    rllb_balancer *b;
    void *memory;
    rllb_rng rng;
    int32_t place, flying[FLYING];
    double started[FLYING];
    int64_t in_flight[CAPACITY], none;
    uint64_t picks[CAPACITY], done[CAPACITY], refused, wrong;
    uint64_t looks, mixed, backwards, changes, last; /* of what it picked by */
    pthread_t thread;
} worker;

struct world {
    rllb_balancer_desc desc;
    void *block;
    worker worker[WORKERS], extra; /* extra: the keeper of its own */
    worker *keeper;
    uint64_t clock_ms, stop, finished; /* stop: workers need not wait for the keeper; finished: how many have */
    uint64_t steps;                    /* that each worker does at least */
    int64_t ticks, added, removed, rounds, published;
    void (*keep)(world *w, int round); /* what the keeper does */
    void (*look)(worker *k);           /* at what a worker picks by, after each pick */
    char *text;
};

static float oracle[CAPACITY];

static double time_of(const world *w)
{
    return 1 + 0.001 * (double)get(&w->clock_ms);
}

static void controller(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    int32_t i;

    (void)self;
    for (i = 0; i < actions; i++) action[i] = 1 + (i < observations ? observation[i] : 0);
}

static int32_t chooser(void *self, const float *observation, int32_t observations)
{
    int32_t i, best = 0;

    (void)self;
    for (i = 1; i < observations; i++) {
        if (observation[i] < observation[best]) best = i;
    }
    return best;
}

static void describe(rllb_balancer_desc *d, rllb_balance policy)
{
    rllb_balancer_desc_default(d);
    d->policy = policy;
    d->count = SERVERS;
    d->capacity = CAPACITY;
    d->workers = WORKERS;
    d->seed = 71;
    d->table = 251;
    d->slots = 16;
    d->interval_s = 0.005f;
    d->oracle = oracle;
    d->choose = chooser;
    d->control = controller;
    d->guard.eject_s = 0.01f; /* the clock here covers little more than a second */
    d->guard.eject_longest_s = 0.04f;
    d->guard.slow_start_s = 0.02f;
}

static bool take_place(world *w, worker *k, int32_t place, bool join)
{
    rllb_balancer_desc d = w->desc;
    size_t size;
    int i;

    d.shared = w->block;
    d.worker = place;
    d.join = join;
    k->w = w;
    k->place = place;
    rllb_rng_init(&k->rng, 72, (uint64_t)(place + 1));
    for (i = 0; i < FLYING; i++) k->flying[i] = -1;
    size = rllb_balancer_size(&d);
    k->memory = malloc(size);
    return k->memory && rllb_balancer_init(&d, k->memory, size, &k->b) == RLLB_OK;
}

/* Workers 0 ... 3, and the keeper: one of its own or worker 0. */
static bool world_begin(world *w, bool keeper_works)
{
    int i;

    w->desc.shared_size = rllb_balancer_shared_size(&w->desc);
    w->text = (char *)malloc(TEXT);
    if (!w->text || posix_memalign(&w->block, 64, w->desc.shared_size) != 0) return false;
    for (i = 0; i < WORKERS; i++) {
        if (!take_place(w, &w->worker[i], i, i > 0)) return false;
    }
    w->keeper = keeper_works ? &w->worker[0] : &w->extra;
    return keeper_works || take_place(w, &w->extra, -1, true);
}

static void world_end(world *w)
{
    int i;

    for (i = 0; i < WORKERS; i++) free(w->worker[i].memory);
    free(w->extra.memory);
    free(w->block);
    free(w->text);
}

/* ---- workers ------------------------------------------------------------------------------------------------- */

static void finish(worker *k, int i, rllb_outcome how)
{
    int32_t s = k->flying[i];

    k->refused += rllb_balancer_done(k->b, s, k->started[i], time_of(k->w), how) != RLLB_OK;
    k->flying[i] = -1;
    k->in_flight[s]--;
    k->done[s]++;
}

/* A request begins or one ends, with all that goes along. At server 2 every request of worker 1 fails for a while. */
static void step(worker *k)
{
    double now_s = time_of(k->w);
    int i = (int)rllb_rng_below(&k->rng, FLYING);
    uint64_t key = rllb_rng_u64(&k->rng);
    rllb_report report = { (float)(key % 5), 0.01f, (float)(key % 9) };
    int32_t s = k->flying[i], servers[3], n;

    if (s >= 0) {
        bool fails = s == 2 && k->place == 1 && now_s < 1.2;
        if (key % 3 == 0) rllb_balancer_sample(k->b, s, now_s - k->started[i], now_s);
        if (key % 4 == 0) rllb_balancer_report(k->b, s, &report, now_s);
        if (key % 64 == 1) finish(k, i, RLLB_OUTCOME_CANCELLED);
        else finish(k, i, fails ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK);
        return;
    }
    if (key % 8 == 0) {
        n = rllb_balancer_probe(k->b, servers, 3);
        if (n < 0 || n > 3) k->wrong++;
    }
    servers[0] = (int32_t)(key % SERVERS);
    s = key % 16 == 5 ? rllb_balancer_pick_other(k->b, servers, 1, now_s) : rllb_balancer_pick(k->b, key, now_s);
    if (k->w->look) k->w->look(k);
    if (s < 0) {
        k->none++;
        return;
    }
    if (s >= CAPACITY || (key % 16 == 5 && s == servers[0])) {
        k->wrong++;
        return;
    }
    k->flying[i] = s;
    k->started[i] = now_s;
    k->in_flight[s]++;
    k->picks[s]++;
}

/* Until the keeper is done, and for a number of steps at least, and until something new was seen if one looks: the
   keeper may have no processor for long, so it is left ours now and then. Then half of what flies is ended. */
static void *serve(void *self)
{
    worker *k = (worker *)self;
    uint64_t steps;
    int i;

    for (steps = 0; steps < k->w->steps || !get(&k->w->stop); steps++) step(k);
    for (; k->w->look && k->changes < CHANGES && steps < STEPS_MAX; steps++) {
        step(k);
        if (steps % 1024 == 0) sched_yield();
    }
    for (i = 0; i < FLYING / 2; i++) {
        if (k->flying[i] >= 0) finish(k, i, RLLB_OUTCOME_OK);
    }
    __atomic_fetch_add(&k->w->finished, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* ---- the keeper ---------------------------------------------------------------------------------------------- */

/* Reads all there is to read. */
static void look_around(world *w, double now_s)
{
    rllb_balancer *b = w->keeper->b;
    rllb_server_info info;
    rllb_counters counters;
    int32_t s, n = 0;
    const float *o = rllb_balancer_observe(b, &n);

    for (s = 0; o && s < n; s++) w->keeper->wrong += !(o[s] >= 0 && o[s] < 1e9f);
    for (s = 0; s < rllb_balancer_servers(b); s++) {
        if (rllb_balancer_server(b, s, &info) != RLLB_OK) continue;
        w->keeper->wrong += !(info.weight_in_force >= 0 && info.weight_in_force < 1e6f);
    }
    rllb_balancer_counters(b, &counters);
    rllb_balancer_reward(b);
    if (w->ticks % 8) return;
    if (rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, now_s, w->text, TEXT) < 1000) w->keeper->wrong++;
    if (rllb_balancer_metrics(b, RLLB_METRICS_INFLUX, now_s, w->text, TEXT) < 100) w->keeper->wrong++;
}

/* One thing after the other. The first servers stay what they are, later ones come and go. */
static void keep_busy(world *w, int round)
{
    rllb_balancer *b = w->keeper->b;
    rllb_server_desc late = { NULL, 2 };
    rllb_server_info info;
    float action[CAPACITY];
    double now_s;
    int32_t i, index;

    set(&w->clock_ms, get(&w->clock_ms) + 1);
    now_s = time_of(w);
    w->rounds++;
    if (rllb_balancer_tick(b, now_s)) {
        w->ticks++;
        look_around(w, now_s);
    }
    switch (round % 12) {
    case 0: w->added += rllb_balancer_add(b, &late, now_s, &index) == RLLB_OK; break;
    case 1: rllb_balancer_set_weight(b, round / 12 % SERVERS, 1 + (float)(round % 5), now_s); break;
    case 2: rllb_balancer_set_state(b, 1 + round / 12 % 2, RLLB_SERVER_DRAINING, now_s); break;
    case 3: rllb_balancer_set_state(b, 3 + round / 12 % 2, RLLB_SERVER_DOWN, now_s); break;
    case 4: /* both back again */
    case 5:
        for (i = 1; i < SERVERS; i++) rllb_balancer_set_state(b, i, RLLB_SERVER_UP, now_s);
        break;
    case 6: rllb_balancer_set_trust(b, round / 12 % 4 == 0, 0.5f, now_s); break;
    case 7:
        for (i = 0; i < CAPACITY; i++) action[i] = 1 + (float)((round + i) % 3);
        rllb_balancer_act(b, action, rllb_balancer_servers(b), now_s);
        break;
    case 8: rllb_balancer_set_trust(b, false, 1, now_s); break;
    case 9:
        index = SERVERS + round / 12 % 3;
        if (rllb_balancer_server(b, index, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) break;
        w->removed += rllb_balancer_remove(b, index, now_s) == RLLB_OK;
        break;
    default: break;
    }
}

static void nap(void)
{
    struct timespec little = { 0, 20000 };
    nanosleep(&little, NULL);
}

/* The keeper keeps for so many rounds at least, and until all are done that do not wait for it: slowly then, lest it
   has nothing new left to say when the last of them gets a processor. If it is the first worker too, it does that
   one's steps in between. */
static void run(world *w, int rounds)
{
    int t, i, s, first = w->keeper == &w->worker[0];
    bool waits = get(&w->stop) != 0;

    for (t = first; t < WORKERS; t++) {
        CHECK_EQ_I(pthread_create(&w->worker[t].thread, NULL, serve, &w->worker[t]), 0);
    }
    for (i = 0; i < rounds || (waits && get(&w->finished) + (uint64_t)first < WORKERS); i++) {
        w->keep(w, i);
        for (s = 0; first && s < 20; s++) step(&w->worker[0]);
        if (i >= rounds) nap();
        else if (i % 64 == 63) sched_yield();
    }
    set(&w->stop, 1);
    for (t = first; t < WORKERS; t++) pthread_join(w->worker[t].thread, NULL);
    if (first) serve(&w->worker[0]);
}

/* ---- what must be true at the end ---------------------------------------------------------------------------- */

static void adds_up(const world *w)
{
    const rllb_balancer *b = w->keeper->b;
    uint64_t picks, done, none = 0;
    rllb_counters counters;
    rllb_server_info info;
    int64_t in_flight;
    int32_t s;
    int t;

    for (s = 0; s < CAPACITY; s++) {
        for (picks = done = 0, in_flight = 0, t = 0; t < WORKERS; t++) {
            picks += w->worker[t].picks[s];
            done += w->worker[t].done[s];
            in_flight += w->worker[t].in_flight[s];
        }
        memset(&info, 0, sizeof info);
        if (rllb_balancer_server(b, s, &info) != RLLB_OK) {
            CHECK_EQ_I(in_flight, 0);
            continue;
        }
        CHECK_EQ_U(info.picks, info.done + (uint64_t)info.in_flight + info.lost);
        CHECK_EQ_I(info.in_flight, in_flight);
        CHECK_EQ_U(info.lost, 0);
        CHECK(info.failed <= info.done);
        if (s >= SERVERS) continue; /* what an earlier server of this index had is not its own */
        CHECK_EQ_U(info.picks, picks);
        CHECK_EQ_U(info.done, done);
    }
    rllb_balancer_counters(b, &counters);
    for (t = 0; t < WORKERS; t++) {
        CHECK_EQ_U(w->worker[t].refused, 0);
        CHECK_EQ_U(w->worker[t].wrong, 0);
        none += (uint64_t)w->worker[t].none;
    }
    CHECK_EQ_U(w->keeper->wrong, 0);
    CHECK_EQ_U(counters.no_server, none);
    CHECK_EQ_U(counters.stray_done, 0);
    CHECK_EQ_U(counters.bad_server, 0);
    CHECK_EQ_U(counters.bad_time, 0);
    CHECK_EQ_U(counters.lost, 0);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INSTRUMENTED 1
#endif
#endif
#ifndef INSTRUMENTED
#define INSTRUMENTED 0
#endif

/* Under one of the two kinds of keeper; under both where that costs little. */
TEST(every_policy_under_a_busy_keeper)
{
    static world w;
    rllb_counters counters;
    uint64_t ejections = 0;
    int i, policy, both;

    for (i = 0; i < 2 * RLLB_BALANCE_NUM; i++) {
        policy = i / 2;
        both = i % 2;
        if (INSTRUMENTED && both != policy % 2) continue;
        memset(&w, 0, sizeof w);
        describe(&w.desc, (rllb_balance)policy);
        if (both) w.desc.control = NULL;
        if (both) w.desc.form = RLLB_FORM_DRAW;
        w.keep = keep_busy;
        w.steps = 300;
        REQUIRE(world_begin(&w, both));
        NOTE("%s, %s", rllb_balance_name(w.desc.policy), both ? "worker 0 is the keeper" : "a keeper of its own");
        run(&w, 144);
        adds_up(&w);
        CHECK_EQ_I(w.rounds, 144);
        CHECK(w.ticks >= 24);
        CHECK(w.added > 3 && w.removed > 3);
        rllb_balancer_counters(w.keeper->b, &counters);
        ejections += counters.ejections;
        world_end(&w);
    }
    CHECK(ejections > 0);
}

/* ---- weights are of one publication -------------------------------------------------------------------------- */

enum { GENERATIONS = 97 };

/* What a worker picks by hangs together: the scales are the weights' inverses, the sum is theirs. */
static bool hangs_together(const rllb_balancer *b)
{
    const float *w = b->mind[0].weight, *scale = b->mind[0].scale;
    double sum = 0;
    int i;

    if (!w) return false; /* it never got any */
    for (i = 0; i < SERVERS; i++) {
        sum += (double)w[i];
        if (!(fabs((double)(w[i] * scale[i]) - 1) < 1e-4)) return false;
    }
    return b->used == SERVERS && fabs((double)b->weight_sum - sum) < 1e-3;
}

static double ratio(const rllb_balancer *b, int32_t server)
{
    return (double)b->mind[0].weight[server] / (double)b->mind[0].weight[0];
}

/* Generations differ in every ratio of two weights, so that a mixture of two is none. */
static float weight_of(int64_t generation, int32_t server)
{
    static const int32_t factor[SERVERS] = { 0, 5, 11, 23, 41, 59 };
    return 100 + (float)(factor[server] * (int32_t)(generation % GENERATIONS + 1) % GENERATIONS);
}

static void keep_acting(world *w, int round)
{
    float action[SERVERS];
    int32_t i;

    (void)round;
    set(&w->clock_ms, get(&w->clock_ms) + 1);
    w->published++;
    for (i = 0; i < SERVERS; i++) action[i] = weight_of(w->published, i);
    w->keeper->wrong += rllb_balancer_act(w->keeper->b, action, SERVERS, time_of(w)) != RLLB_OK;
}

static int64_t generation_of(const rllb_balancer *b)
{
    int64_t g;
    int32_t i;

    for (g = 0; g < GENERATIONS; g++) {
        for (i = 1; i < SERVERS && fabs(ratio(b, i) - (double)weight_of(g, i) / 100) < 1e-4; i++) {}
        if (i == SERVERS) return g;
    }
    return -1;
}

static void look_for_generation(worker *k)
{
    int64_t g = hangs_together(k->b) ? generation_of(k->b) : -1;

    k->looks++;
    if (g < 0) {
        k->mixed++;
        return;
    }
    k->changes += (uint64_t)g != k->last;
    k->last = (uint64_t)g;
}

/* Server 0 keeps its weight; one of the others after the other takes the next higher one. */
static void keep_raising(world *w, int round)
{
    int32_t server = 1 + (int32_t)(w->published % (SERVERS - 1));
    float weight = 2 + (float)(w->published / (SERVERS - 1));

    (void)round;
    set(&w->clock_ms, get(&w->clock_ms) + 1);
    if (weight > 40000) return; /* a float tells these apart */
    w->keeper->wrong += rllb_balancer_set_weight(w->keeper->b, server, weight, time_of(w)) != RLLB_OK;
    w->published++;
}

/* How many publications it took to come to these weights; -1: they are of no one moment. */
static int64_t height_of(const rllb_balancer *b)
{
    int64_t n = 0, first = llround(ratio(b, 1));
    bool higher = true;
    int32_t i;

    for (i = 1; i < SERVERS; i++) {
        int64_t whole = llround(ratio(b, i));
        if (fabs(ratio(b, i) - (double)whole) > 0.1) return -1;
        if (whole == first - 1) higher = false;
        else if (whole != first || !higher) return -1;
        n += whole - 1;
    }
    return n;
}

static void look_for_height(worker *k)
{
    int64_t n = hangs_together(k->b) ? height_of(k->b) : -1;

    k->looks++;
    if (n < 0) {
        k->mixed++;
        return;
    }
    k->backwards += (uint64_t)n < k->last;
    k->changes += (uint64_t)n != k->last;
    k->last = (uint64_t)n;
}

/* Guards that change weights on their own are off. */
static void world_of_weights(world *w, rllb_balance policy)
{
    memset(w, 0, sizeof *w);
    describe(&w->desc, policy);
    w->desc.control = NULL;
    w->desc.guard.floor = w->desc.guard.ceiling = w->desc.guard.rate = w->desc.guard.deadline_s = RLLB_OFF;
    w->desc.guard.slow_start_s = w->desc.guard.minimum_share = w->desc.guard.panic = RLLB_OFF;
    w->desc.guard.eject_failures = w->desc.guard.eject_rate = RLLB_OFF;
    w->steps = 4000;
    w->stop = 1;
}

/* All looked at what was whole, saw it change while they worked, and have at last what was published last. */
static void saw_whole_weights(world *w, int64_t (*what)(const rllb_balancer *), int64_t last)
{
    uint64_t changes = 0, looks = 0;
    int t;

    CHECK(w->published > 100);

    for (t = 0; t < WORKERS; t++) {
        worker *k = &w->worker[t];
        CHECK_EQ_U(k->mixed, 0);
        CHECK_EQ_I(k->none, 0);
        CHECK_EQ_U(k->backwards, 0);
        CHECK(k->looks > w->steps / 3);
        looks += k->looks;
        changes += k->changes;
        CHECK(k->changes >= CHANGES);
        CHECK(rllb_balancer_pick(k->b, 1, time_of(w)) >= 0);
        CHECK(hangs_together(k->b) && what(k->b) == last);
    }
    NOTE("%d publications, %d looks, %d of them at something new", (int)w->published, (int)looks, (int)changes);
}

TEST(weights_of_an_action_come_whole)
{
    static world w;
    int both;

    for (both = 0; both < 2; both++) {
        world_of_weights(&w, RLLB_BALANCE_LEARNED);
        w.keep = keep_acting;
        w.look = look_for_generation;
        REQUIRE(world_begin(&w, both == 1));
        keep_acting(&w, 0);
        run(&w, 200);
        adds_up(&w);
        saw_whole_weights(&w, generation_of, w.published % GENERATIONS);
        world_end(&w);
    }
}

TEST(weights_are_seen_in_the_order_of_publication)
{
    static world w;
    int both;

    for (both = 0; both < 2; both++) {
        world_of_weights(&w, both ? RLLB_BALANCE_P2C_WEIGHTED : RLLB_BALANCE_SED);
        w.keep = keep_raising;
        w.look = look_for_height;
        REQUIRE(world_begin(&w, both == 1));
        run(&w, 200);
        adds_up(&w);
        saw_whole_weights(&w, height_of, w.published);
        world_end(&w);
    }
}
