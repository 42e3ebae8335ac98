/* test_balancer_processes.c - processes on one shared block, and what is left when one of them is killed

   A worker is killed a thousand times at random points, the other serves on; a keeper is killed while it publishes;
   and, where a process may be single-stepped, the block is examined after every instruction of a call, as a kill there
   would leave it. Afterwards picks = done + in flight + lost for every server, each request is counted where it was
   made, and weights are those of one publication. Children end with their parent, and after a while by themselves. */

#define _GNU_SOURCE
#define _DEFAULT_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/ptrace.h>
#endif

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

#define RLLB_STATIC
#include "rllb.h"
#include "test.h"

enum { PATIENCE_S = 30, SERVERS = 6, CAPACITY = 8, FLYING = 10, STEPS_MAX = 1000000000 };

/* How often a worker and a keeper are killed; how many states of a call are looked at, and of which calls; after how
   many more instructions a reader is overtaken the next time. Instrumented, all takes longer and shows no more. */
#ifdef RLLB_I_ASAN
enum { KILLS = 250, KEEPERS = 60, PUBLISHING = 4, LOOKS_MAX = 300, CALLS_STEP = 5, OVERTAKEN_STEP = 307 };
#else
enum { KILLS = 1000, KEEPERS = 200, PUBLISHING = 8, LOOKS_MAX = 1500, CALLS_STEP = 1, OVERTAKEN_STEP = 17 };
#endif

/* ---- beside the block: what the processes tell each other --------------------------------------------------- */

typedef struct page {
    uint64_t clock_us;               /* the time, moved on by the survivor */
    uint64_t joined, go;             /* round in which a child took its place, round that it may start */
    uint64_t picks_begun, picks_ended, dones_begun, dones_ended; /* of all children so far */
    uint64_t begun, ended;           /* generations of weights: publication begun, over */
    uint64_t mark;                   /* single steps: 1 while the call runs, 2 after it */
    uint64_t held;                   /* a child's: generation it picked by */
    uint64_t wrong;                  /* a child's call that failed */
} page;

static uint64_t get(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static void count(uint64_t *p) /* one writer at a time */
{
    set(p, get(p) + 1);
}

static double time_of(const page *p)
{
    return 1 + 1e-6 * (double)get(&p->clock_us);
}

static void *map(size_t bytes, int file)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* A file without a name in the folder for temporary ones; -1 if there is none. */
static int nameless_file(size_t bytes)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    int file;

    snprintf(path, sizeof path, "%s/rllb-block-XXXXXX", folder && *folder ? folder : "/tmp");
    file = mkstemp(path);
    if (file < 0) return -1;
    unlink(path);
    if (ftruncate(file, (off_t)bytes) == 0) return file;
    close(file);
    return -1;
}

/* Handles mark the gaps of a block for AddressSanitizer; whoever handles it as a whole steps over them. */
static void open_gaps(void *block, size_t bytes)
{
#ifdef RLLB_I_ASAN
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
#endif
    (void)block;
    (void)bytes;
}

static void copy_block(void *to, void *from, size_t bytes)
{
    open_gaps(to, bytes);
    open_gaps(from, bytes);
    memcpy(to, from, bytes);
}

static void unmap(void *at, size_t bytes)
{
    open_gaps(at, bytes);
    munmap(at, bytes);
}

/* ---- a worker ------------------------------------------------------------------------------------------------ */

typedef struct worker {
    rllb_balancer *b;
    void *memory;
    rllb_rng rng;
    int32_t flying[FLYING];
    double started[FLYING];
    int64_t in_flight[CAPACITY], picks, dones, bad;
} worker;

static void worker_reset(worker *w, uint64_t seed)
{
    void *memory = w->memory;
    int i;

    memset(w, 0, sizeof *w);
    w->memory = memory;
    rllb_rng_init(&w->rng, 62, seed);
    for (i = 0; i < FLYING; i++) w->flying[i] = -1;
}

/* A handle on the block at `shared`. */
static rllb_status take_place(worker *w, const rllb_balancer_desc *of, void *shared, int32_t place, bool join)
{
    rllb_balancer_desc d = *of;
    size_t size;

    d.shared = shared;
    d.worker = place;
    d.join = join;
    size = rllb_balancer_size(&d);
    if (!w->memory) w->memory = malloc(size);
    return w->memory ? rllb_balancer_init(&d, w->memory, size, &w->b) : RLLB_ERROR_OUT_OF_MEMORY;
}

/* A request begins or one ends; now and then one is sampled, or its server reports. */
static void work(worker *w, double now_s, page *tally)
{
    int i = (int)rllb_rng_below(&w->rng, FLYING);
    int32_t s = w->flying[i], tried = 0;
    uint64_t key = rllb_rng_u64(&w->rng);
    rllb_report report = { 1, 0.01f, 3 };
    rllb_outcome how = RLLB_OUTCOME_OK;

    if (s < 0) {
        if (tally) count(&tally->picks_begun);
        s = key % 16 ? rllb_balancer_pick(w->b, key, now_s) : rllb_balancer_pick_other(w->b, &tried, 1, now_s);
        if (tally) count(&tally->picks_ended);
        if (s < 0 || s >= CAPACITY) {
            w->bad++;
            return;
        }
        w->flying[i] = s;
        w->started[i] = now_s;
        w->in_flight[s]++;
        w->picks++;
        return;
    }
    if (key % 4 == 0) rllb_balancer_sample(w->b, s, now_s - w->started[i], now_s);
    if (key % 8 == 1) rllb_balancer_report(w->b, s, &report, now_s);
    if (key % 64 == 2) how = key % 128 == 2 ? RLLB_OUTCOME_CANCELLED : RLLB_OUTCOME_FAILED;
    if (tally) count(&tally->dones_begun);
    w->bad += rllb_balancer_done(w->b, s, w->started[i], now_s, how) != RLLB_OK;
    if (tally) count(&tally->dones_ended);
    w->flying[i] = -1;
    w->in_flight[s]--;
    w->dones++;
}

/* ---- a block and who is on it -------------------------------------------------------------------------------- */

typedef struct world {
    rllb_balancer_desc desc;
    page *p;
    void *here, *there; /* the block, twice at different addresses if it is in a file */
    worker survivor, victim, keeper;
    int file;
} world;

static float oracle[CAPACITY];

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
    d->workers = 2;
    d->seed = 63;
    d->table = 251;
    d->slots = 16;
    d->interval_s = 0.01f;
    d->oracle = oracle;
    d->choose = chooser;
    d->control = controller;
    d->guard.eject_failures = d->guard.eject_rate = RLLB_OFF;
    d->shared_size = rllb_balancer_shared_size(d);
}

static bool world_begin(world *w, bool two_addresses)
{
    size_t bytes = w->desc.shared_size;

    w->file = two_addresses ? nameless_file(bytes) : -1;
    w->p = (page *)map(sizeof *w->p, -1);
    w->here = map(bytes, w->file);
    w->there = w->file < 0 ? w->here : map(bytes, w->file);
    if (!w->p || !w->here || !w->there || (two_addresses && w->here == w->there)) return false;
    worker_reset(&w->survivor, 0);
    worker_reset(&w->victim, 1);
    worker_reset(&w->keeper, 2);
    return take_place(&w->survivor, &w->desc, w->here, 0, false) == RLLB_OK;
}

static void world_end(world *w)
{
    unmap(w->p, sizeof *w->p);
    unmap(w->here, w->desc.shared_size);
    if (w->there != w->here) unmap(w->there, w->desc.shared_size);
    if (w->file >= 0) close(w->file);
    free(w->survivor.memory);
    free(w->victim.memory);
    free(w->keeper.memory);
}

static void survive(world *w)
{
    set(&w->p->clock_us, get(&w->p->clock_us) + 20);
    work(&w->survivor, time_of(w->p), NULL);
}

/* Picks = done + in flight + lost, everywhere; what flies is what `alive` holds, nobody else having any. */
static bool adds_up(const rllb_balancer *b, const worker *alive, uint64_t *picks, uint64_t *done)
{
    uint64_t lost = 0;
    rllb_counters counters;
    rllb_server_info info;
    int before = test_state.failures;
    int32_t s;

    for (*picks = *done = 0, s = 0; s < CAPACITY; s++) { /* those removed too */
        CHECK_EQ_I(rllb_balancer_server(b, s, &info), RLLB_OK);
        CHECK_EQ_U(info.picks, info.done + (uint64_t)info.in_flight + info.lost);
        CHECK_EQ_I(info.in_flight, alive ? alive->in_flight[s] : 0);
        CHECK(info.failed <= info.done);
        *picks += info.picks;
        *done += info.done;
        lost += info.lost;
    }
    rllb_balancer_counters(b, &counters);
    CHECK_EQ_U(counters.lost, lost);
    CHECK_EQ_U(counters.stray_done, 0);
    CHECK_EQ_U(counters.bad_server, 0);
    CHECK_EQ_U(counters.bad_time, 0);
    CHECK_EQ_U(counters.no_server, 0);
    return test_state.failures == before;
}

/* What a controller would see stays numbers. */
static bool observation_is_sane(rllb_balancer *b)
{
    int32_t i, n = 0;
    const float *o = rllb_balancer_observe(b, &n);

    for (i = 0; o && i < n; i++) {
        if (!(o[i] >= 0 && o[i] < 1e6f)) return false;
    }
    return o != NULL && n > 0;
}

/* ---- children ------------------------------------------------------------------------------------------------ */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Lets others have the processor: there may be fewer of them than processes. */
static void nap(void)
{
    struct timespec little = { 0, 20000 };
    nanosleep(&little, NULL);
}

static pid_t child_begin(void)
{
    pid_t parent = getpid(), child = fork();

    if (child == 0) {
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
        if (getppid() != parent) _exit(0);
    }
    return child;
}

static int child_end(pid_t child)
{
    int status = 0;

    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

/* Joined; waits until it may start. False: nobody came within a minute. */
static bool child_ready(page *p, uint64_t round)
{
    double end_s = seconds() + 60;

    set(&p->joined, round);
    while (get(&p->go) != round && seconds() < end_s) nap();
    return get(&p->go) == round;
}

/* Killed sooner or later. */
static void child_works(world *w, uint64_t round)
{
    int i;

    worker_reset(&w->victim, 1000 + round);
    if (take_place(&w->victim, &w->desc, w->there, 1, true) != RLLB_OK) set(&w->p->wrong, round);
    else if (child_ready(w->p, round)) {
        for (i = 0; i < STEPS_MAX && !w->victim.bad; i++) work(&w->victim, time_of(w->p), w->p);
        set(&w->p->wrong, round);
    }
    _exit(0);
}

/* The survivor serves on until *p reaches `value`. False: it did not in PATIENCE_S. */
static bool serve_until(world *w, const uint64_t *p, uint64_t value)
{
    double end_s = seconds() + PATIENCE_S;
    int i;

    for (i = 1; get(p) < value; i++) {
        survive(w);
        if (rllb_balancer_tick(w->survivor.b, time_of(w->p))) CHECK(observation_is_sane(w->survivor.b));
        if (i % 64) continue;
        if (seconds() > end_s) return false;
        if (i > 512) nap();
    }
    return true;
}

/* ---- a worker is killed -------------------------------------------------------------------------------------- */

typedef struct ledger {
    uint64_t picks, done;                                          /* of the block */
    int64_t mine_picks, mine_done;                                 /* of the survivor */
    uint64_t picks_begun, picks_ended, dones_begun, dones_ended;   /* of the children */
} ledger;

/* Nobody but the survivor is alive. Since the ledger was written each request of the survivor and each that a child
   finished was counted once; the one that a child was in the middle of, once or not at all. */
static void balance_books(const world *w, ledger *last)
{
    const page *p = w->p;
    ledger now;
    uint64_t picks, done;

    adds_up(w->survivor.b, &w->survivor, &now.picks, &now.done);
    now.mine_picks = w->survivor.picks;
    now.mine_done = w->survivor.dones;
    now.picks_begun = get(&p->picks_begun);
    now.picks_ended = get(&p->picks_ended);
    now.dones_begun = get(&p->dones_begun);
    now.dones_ended = get(&p->dones_ended);
    picks = now.picks - last->picks - (uint64_t)(now.mine_picks - last->mine_picks);
    done = now.done - last->done - (uint64_t)(now.mine_done - last->mine_done);
    CHECK(picks >= now.picks_ended - last->picks_ended && picks <= now.picks_begun - last->picks_begun);
    CHECK(done >= now.dones_ended - last->dones_ended && done <= now.dones_begun - last->dones_begun);
    *last = now;
}

/* The tallies of a child that was killed between the two of them. */
static void settle(page *p)
{
    set(&p->picks_ended, get(&p->picks_begun));
    set(&p->dones_ended, get(&p->dones_begun));
}

/* One life of the other worker. Every eighth is killed before or while it joins. Of the dead, one is given up by
   resync, the next one's place is taken over. True: it died serving. */
static bool one_life(world *w, uint64_t round, rllb_rng *rng, ledger *book)
{
    bool early = round % 8 == 7, resync = round % 2 == 0, served = false;
    uint64_t picks = get(&w->p->picks_ended) + (uint64_t)rllb_rng_below(rng, 150);
    int i, more = (int)rllb_rng_below(rng, 64);
    pid_t child;

    child = child_begin();
    if (child == 0) child_works(w, round);
    if (child < 0) return false;
    if (early) {
        for (i = 0; i < 20 * more; i++) survive(w);
    } else if (serve_until(w, &w->p->joined, round)) {
        balance_books(w, book);
        settle(w->p);
        book->picks_ended = book->picks_begun;
        book->dones_ended = book->dones_begun;
        set(&w->p->go, round);
        served = serve_until(w, &w->p->picks_ended, picks);
        for (i = 0; i < more; i++) survive(w);
    }
    CHECK(WIFSIGNALED(child_end(child)));
    if (!resync) return served;
    CHECK_EQ_I(rllb_balancer_resync(w->survivor.b, 1, time_of(w->p)), RLLB_OK);
    balance_books(w, book);
    settle(w->p);
    book->picks_ended = book->picks_begun;
    book->dones_ended = book->dones_begun;
    return served;
}

TEST(a_worker_is_killed_a_thousand_times)
{
    uint64_t round = 0, served = 0, lost = 0;
    rllb_counters counters;
    rllb_rng rng;
    world w;
    ledger book;
    int policy, i, each = KILLS / RLLB_BALANCE_NUM;

    rllb_rng_init(&rng, 64, 0);
    CHECK_EQ_I(each * RLLB_BALANCE_NUM, KILLS);
    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        memset(&w, 0, sizeof w);
        memset(&book, 0, sizeof book);
        describe(&w.desc, (rllb_balance)policy);
        REQUIRE(world_begin(&w, policy % 2 == 1));
        NOTE("%s", rllb_balance_name((rllb_balance)policy));
        for (i = 0; i < each; i++) served += one_life(&w, ++round, &rng, &book);
        CHECK_EQ_I(w.survivor.bad, 0);
        CHECK_EQ_U(get(&w.p->wrong), 0);
        rllb_balancer_counters(w.survivor.b, &counters);
        lost += counters.lost;
        world_end(&w);
    }
    NOTE("%d of %d died serving, %d requests lost", (int)served, (int)round, (int)lost);
    CHECK(served > round * 6 / 10);
    CHECK(lost > served);
}

/* ---- weights that tell which publication they are of -------------------------------------------------------- */

enum { GENERATIONS = 97 };

/* Generations differ in every ratio of two weights, so that a mixture of two is none. */
static float weight_of(uint64_t generation, int32_t server)
{
    static const int32_t factor[SERVERS] = { 0, 5, 11, 23, 41, 59 };
    return server >= SERVERS ? 1 : 100 + (float)(factor[server] * (int32_t)(generation + 1) % GENERATIONS);
}

static rllb_status publish(rllb_balancer *b, uint64_t generation, double now_s)
{
    float action[CAPACITY];
    int32_t i, n = rllb_balancer_servers(b);

    for (i = 0; i < n && i < CAPACITY; i++) action[i] = weight_of(generation % GENERATIONS, i);
    return rllb_balancer_act(b, action, n, now_s);
}

/* The generation of all that this handle copied to pick by; -1: of none, or of more than one. */
static int held(const rllb_balancer *b)
{
    const float *w = b->mind[0].weight, *scale = b->mind[0].scale;
    double sum = 0;
    int g, i;

    if (!w) return -1;
    for (i = 0; i < SERVERS; i++) {
        sum += (double)w[i];
        if (!(fabs((double)(w[i] * scale[i]) - 1) < 1e-4)) return -1;
    }
    if (b->used == SERVERS && !(fabs((double)b->weight_sum - sum) < 1e-3)) return -1;
    for (g = 0; g < GENERATIONS; g++) {
        for (i = 1; i < SERVERS; i++) {
            double ratio = (double)w[i] / (double)w[0], should = (double)weight_of((uint64_t)g, i) / 100;
            if (!(fabs(ratio - should) < 1e-4)) break;
        }
        if (i == SERVERS) return g;
    }
    return -1;
}

static void describe_generations(rllb_balancer_desc *d)
{
    describe(d, RLLB_BALANCE_LEARNED);
    d->control = NULL;
    d->guard.floor = d->guard.ceiling = d->guard.rate = d->guard.deadline_s = RLLB_OFF;
    d->guard.slow_start_s = d->guard.minimum_share = d->guard.panic = RLLB_OFF;
}

/* ---- the keeper is killed ------------------------------------------------------------------------------------ */

static bool is_there(const rllb_balancer *b, int32_t server)
{
    rllb_server_info info;
    return rllb_balancer_server(b, server, &info) == RLLB_OK && info.state != RLLB_SERVER_NONE;
}

/* Everything a keeper may do; servers 0 ... 2 stay as they are, so that there is always one to pick. */
static void keep_wildly(rllb_balancer *b, uint64_t round, double now_s)
{
    static const rllb_server_desc late = { "late", 50 };
    static char text[20000];
    int32_t index, one = 3 + (int32_t)(round / 8 % 3), late_one = SERVERS + (int32_t)(round / 8 % 2);

    switch (round % 8) {
    case 0: rllb_balancer_set_state(b, one, RLLB_SERVER_DRAINING, now_s); break;
    case 1: rllb_balancer_add(b, &late, now_s, &index); break;
    case 2: rllb_balancer_set_state(b, one, RLLB_SERVER_UP, now_s); break;
    case 3: rllb_balancer_set_weight(b, one, 2, now_s); break;
    case 4: rllb_balancer_set_trust(b, round % 16 < 8, 0.3f, now_s); break;
    case 5:
        if (is_there(b, late_one)) rllb_balancer_remove(b, late_one, now_s);
        break;
    case 6: rllb_balancer_set_trust(b, false, 1, now_s); break;
    default: rllb_balancer_metrics(b, RLLB_METRICS_INFLUX, now_s, text, sizeof text); break;
    }
    rllb_balancer_tick(b, now_s);
}

/* Killed sooner or later. */
static void child_keeps(world *w, uint64_t round, bool wild)
{
    page *p = w->p;
    uint64_t g, end;

    if (take_place(&w->keeper, &w->desc, w->there, -1, true) != RLLB_OK) set(&p->wrong, round);
    g = get(&p->begun) + 1;
    end = g + STEPS_MAX;
    if (publish(w->keeper.b, g, time_of(p)) != RLLB_OK) set(&p->wrong, round);
    set(&p->begun, g);
    set(&p->ended, g);
    if (!child_ready(p, round)) _exit(0);
    while (++g < end) {
        set(&p->begun, g);
        if (publish(w->keeper.b, g, time_of(p)) != RLLB_OK) set(&p->wrong, round);
        set(&p->ended, g);
        if (wild) keep_wildly(w->keeper.b, g, time_of(p));
    }
    _exit(0);
}

/* The survivor makes a pick and so takes note of what was published. */
static void survivor_picks(world *w)
{
    int64_t before = w->survivor.picks;
    while (w->survivor.picks == before && !w->survivor.bad) survive(w);
}

static void survivor_watches(world *w, int steps, bool wild)
{
    int i;

    for (i = 0; i < steps; i++) {
        survive(w);
        if (!wild && held(w->survivor.b) < 0) w->survivor.bad++;
    }
}

/* Everything as it was before the keepers came. */
static void put_in_order(world *w, rllb_balancer *b)
{
    double now_s = time_of(w->p);
    int32_t s;

    for (s = 0; s < SERVERS; s++) CHECK_EQ_I(rllb_balancer_set_state(b, s, RLLB_SERVER_UP, now_s), RLLB_OK);
    for (s = SERVERS; s < CAPACITY; s++) {
        if (is_there(b, s)) CHECK_EQ_I(rllb_balancer_remove(b, s, now_s), RLLB_OK);
    }
    CHECK_EQ_I(rllb_balancer_servers(b), SERVERS);
    CHECK_EQ_I(rllb_balancer_set_trust(b, false, 1, now_s), RLLB_OK);
}

/* True: it died publishing. */
static bool one_keeper(world *w, uint64_t round, rllb_rng *rng, bool wild)
{
    uint64_t some = (uint64_t)rllb_rng_below(rng, 40);
    bool publishing, own = round % 2 == 1;
    int i, steps = (int)rllb_rng_below(rng, 100);
    double end_s = seconds() + PATIENCE_S;
    uint64_t picks, done;
    pid_t child = child_begin();

    if (child == 0) child_keeps(w, round, wild);
    if (child < 0) return false;
    while (get(&w->p->joined) < round && seconds() < end_s) {
        survivor_watches(w, 64, wild);
        nap();
    }
    if (!wild && get(&w->p->joined) == round) { /* a new keeper's weights come through, whatever the last one left */
        survivor_picks(w);
        CHECK_EQ_I(held(w->survivor.b), (int)(get(&w->p->ended) % GENERATIONS));
    }
    some += get(&w->p->ended);
    set(&w->p->go, round);
    for (i = 0; get(&w->p->ended) < some && seconds() < end_s; i++) {
        survivor_watches(w, 64, wild);
        if (i > 8) nap();
    }
    survivor_watches(w, steps, wild);
    CHECK(WIFSIGNALED(child_end(child)));
    publishing = get(&w->p->ended) < get(&w->p->begun);
    survivor_watches(w, 20, wild);
    if (!own) return publishing;
    CHECK_EQ_I(take_place(&w->keeper, &w->desc, w->here, -1, true), RLLB_OK);
    if (wild) put_in_order(w, w->keeper.b);
    CHECK_EQ_I(publish(w->keeper.b, round, time_of(w->p)), RLLB_OK);
    survivor_picks(w);
    CHECK_EQ_I(held(w->survivor.b), (int)(round % GENERATIONS));
    adds_up(w->survivor.b, &w->survivor, &picks, &done);
    return publishing;
}

TEST(a_keeper_is_killed_while_it_publishes)
{
    int wild, publishing, i, each = KEEPERS;
    rllb_rng rng;
    world w;

    rllb_rng_init(&rng, 65, 0);
    for (wild = 0; wild < 2; wild++) {
        memset(&w, 0, sizeof w);
        describe_generations(&w.desc);
        REQUIRE(world_begin(&w, wild));
        /* How often it is met while it publishes is the machine's affair: until it was, often enough. */
        for (publishing = 0, i = 0; i < each || (publishing < PUBLISHING && i < 20 * each);) {
            publishing += one_keeper(&w, (uint64_t)++i, &rng, wild);
        }
        NOTE("%s: %d of %d died publishing", wild ? "everything else too" : "weights only", publishing, i);
        CHECK_EQ_I(w.survivor.bad, 0);
        CHECK_EQ_U(get(&w.p->wrong), 0);
        CHECK(publishing >= PUBLISHING);
        CHECK(get(&w.p->ended) > (uint64_t)each * 10);
        world_end(&w);
    }
}

/* ---- after every instruction --------------------------------------------------------------------------------- */

#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__))

typedef enum call {
    CALL_PICK, CALL_PICK_OTHER, CALL_DONE, CALL_FAILED, CALL_SAMPLE, CALL_REPORT, CALL_JOIN, CALL_ACT, CALL_SET_WEIGHT,
    CALL_SET_STATE, CALL_SET_TRUST, CALL_ADD, CALL_REMOVE, CALL_RESYNC, CALL_TICK, CALL_KEEPER_JOIN, CALL_NUM
} call;

static const char *const call_names[CALL_NUM] = {
    "pick", "pick_other", "done", "done (failed)", "sample", "report", "init (join)", "act", "set_weight",
    "set_state", "set_trust", "add", "remove", "resync", "tick", "init (a keeper joins)"
};

/* Calls after which weights may rightly be other than a generation's. */
static bool changes_weights(call which)
{
    return which == CALL_FAILED || which == CALL_SET_WEIGHT || which == CALL_SET_STATE || which == CALL_SET_TRUST ||
           which == CALL_ADD || which == CALL_REMOVE;
}

/* In the child that is stepped. */
static void make_call(world *w, call which)
{
    static const rllb_server_desc late = { "late", 50 };
    worker *v = &w->victim;
    rllb_balancer *k = w->keeper.b;
    double now_s = time_of(w->p);
    int32_t index = 0, s = 0;
    rllb_report report = { 1, 0.01f, 3 };
    int i;

    for (i = 0; i < FLYING; i++) {
        if (v->flying[i] >= 0) index = i;
    }
    s = v->flying[index];
    switch (which) {
    case CALL_PICK: rllb_balancer_pick(v->b, 12345, now_s); break;
    case CALL_PICK_OTHER: rllb_balancer_pick_other(v->b, &s, 1, now_s); break;
    case CALL_DONE: rllb_balancer_done(v->b, s, v->started[index], now_s, RLLB_OUTCOME_OK); break;
    case CALL_FAILED: rllb_balancer_done(v->b, s, v->started[index], now_s, RLLB_OUTCOME_FAILED); break;
    case CALL_SAMPLE: rllb_balancer_sample(v->b, s, 0.01, now_s); break;
    case CALL_REPORT: rllb_balancer_report(v->b, s, &report, now_s); break;
    case CALL_JOIN: take_place(v, &w->desc, w->there, 1, true); break;
    case CALL_ACT: publish(k, 7, now_s); break;
    case CALL_SET_WEIGHT: rllb_balancer_set_weight(k, 4, 3, now_s); break;
    case CALL_SET_STATE: rllb_balancer_set_state(k, 4, RLLB_SERVER_DRAINING, now_s); break;
    case CALL_SET_TRUST: rllb_balancer_set_trust(k, true, 0.5f, now_s); break;
    case CALL_ADD: rllb_balancer_add(k, &late, now_s, &index); break;
    case CALL_REMOVE: rllb_balancer_remove(k, 4, now_s); break;
    case CALL_RESYNC: rllb_balancer_resync(k, 1, now_s); break;
    case CALL_TICK: rllb_balancer_tick(k, now_s); break;
    case CALL_KEEPER_JOIN: take_place(&w->keeper, &w->desc, w->there, -1, true); break;
    case CALL_NUM: break;
    }
}

/* A child that stands before its call; -1: it may not be traced. */
static pid_t child_to_step(world *w, call which)
{
    pid_t child;
    int status;

    set(&w->p->mark, 0);
    child = child_begin();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(9);
        raise(SIGSTOP);
        set(&w->p->mark, 1);
        make_call(w, which);
        set(&w->p->mark, 2);
        for (;;) nap();
    }
    if (child < 0) return -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFSTOPPED(status) ? child : -1;
}

static bool single_step(pid_t child)
{
    int status;

    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0) return false;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return false;
    }
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

/* How many instructions a call takes. It is made, and the block put back to what it was. */
static int32_t steps_of(world *w, call which, void *copy)
{
    pid_t child = child_to_step(w, which);
    int32_t steps = 0;

    if (child < 0) return -1;
    copy_block(copy, w->here, w->desc.shared_size);
    while (get(&w->p->mark) < 1 && single_step(child)) {}
    while (get(&w->p->mark) == 1 && single_step(child)) steps++;
    child_end(child);
    copy_block(w->here, copy, w->desc.shared_size);
    return get(&w->p->mark) == 2 ? steps : -1;
}

/* What is left if the process is killed now, on a copy: the call goes on afterwards. A worker that takes the place
   finds servers, and weights that were published, even if there is no keeper any more. */
static void look_at_what_a_worker_finds(world *w, call which, void *copy, worker *next)
{
    int i;

    copy_block(copy, w->here, w->desc.shared_size);
    worker_reset(next, 3);
    CHECK_EQ_I(take_place(next, &w->desc, copy, 1, true), RLLB_OK);
    for (i = 0; i < 3; i++) work(next, time_of(w->p), NULL);
    CHECK(changes_weights(which) || held(next->b) >= 0);
    CHECK_EQ_I(next->bad, 0);
}

/* Another keeper finds counters that add up, and its weights come through. */
static void look_at_what_a_keeper_finds(world *w, call which, void *copy, worker *keeper, worker *next, uint64_t *seen)
{
    uint64_t picks, done, most = (uint64_t)(w->survivor.picks + w->victim.picks) + 1;
    double now_s = time_of(w->p);

    copy_block(copy, w->here, w->desc.shared_size);
    CHECK_EQ_I(take_place(keeper, &w->desc, copy, -1, true), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_resync(keeper->b, 1, now_s), RLLB_OK);
    adds_up(keeper->b, &w->survivor, &picks, &done);
    CHECK(picks >= most - 1 && picks <= most);
    CHECK(picks - (uint64_t)w->survivor.picks >= *seen); /* what was counted once stays counted */
    *seen = picks - (uint64_t)w->survivor.picks;

    worker_reset(next, 4);
    CHECK_EQ_I(take_place(next, &w->desc, copy, 1, true), RLLB_OK);
    CHECK_EQ_I(publish(keeper->b, 55, now_s), RLLB_OK);
    while (next->picks < 3 && !next->bad) work(next, now_s, NULL);
    CHECK(changes_weights(which) || held(next->b) == 55);
    CHECK_EQ_I(next->bad, 0);
    rllb_balancer_tick(keeper->b, now_s + 1);
    CHECK(observation_is_sane(keeper->b));
}

/* A block with some history: both workers have requests in flight, and an interval is over. */
static bool world_with_history(world *w, call which)
{
    int i;

    memset(w, 0, sizeof *w);
    describe_generations(&w->desc);
    if (which == CALL_FAILED) w->desc.guard.eject_failures = 1;
    if (!world_begin(w, false) || take_place(&w->victim, &w->desc, w->there, 1, true) != RLLB_OK) return false;
    if (take_place(&w->keeper, &w->desc, w->there, -1, true) != RLLB_OK) return false;
    if (publish(w->keeper.b, 3, time_of(w->p)) != RLLB_OK) return false;
    for (i = 0; i < 300; i++) {
        survive(w);
        work(&w->victim, time_of(w->p), NULL);
    }
    rllb_balancer_tick(w->keeper.b, time_of(w->p));
    for (i = 0; i < 600; i++) survive(w);
    return w->survivor.bad == 0 && w->victim.bad == 0;
}

/* How many instructions were looked at; -1: nothing may be traced here. */
static int32_t look_at_each(call which)
{
    world w;
    worker keeper, next;
    uint64_t seen = 0;
    int32_t steps, stride, looks = 0, i;
    int failures = test_state.failures;
    void *copy;
    pid_t child;

    if (!world_with_history(&w, which)) return -1;
    memset(&keeper, 0, sizeof keeper);
    memset(&next, 0, sizeof next);
    copy = map(w.desc.shared_size, -1);
    if (!copy) return -1;
    steps = steps_of(&w, which, copy);
    child = steps > 0 ? child_to_step(&w, which) : -1;
    if (child < 0) return -1;
    stride = steps / LOOKS_MAX + 1;
    while (get(&w.p->mark) < 1 && single_step(child)) {}
    for (i = 0; get(&w.p->mark) == 1 && test_state.failures == failures; i++) {
        if (i % stride == 0) {
            look_at_what_a_worker_finds(&w, which, copy, &next);
            look_at_what_a_keeper_finds(&w, which, copy, &keeper, &next, &seen);
            survive(&w); /* and the living go on, between any two instructions */
            if (!changes_weights(which) && held(w.survivor.b) < 0) w.survivor.bad++;
            looks++;
        }
        if (!single_step(child)) break;
    }
    CHECK(get(&w.p->mark) == 2 || test_state.failures > failures);
    CHECK_EQ_I(w.survivor.bad, 0);
    CHECK(WIFSIGNALED(child_end(child)));
    unmap(copy, w.desc.shared_size);
    free(keeper.memory);
    free(next.memory);
    world_end(&w);
    return looks;
}

/* A worker that is stopped while it takes over new weights, and overtaken by a keeper that publishes once, twice, three
   times before it may go on. */
static void child_is_overtaken(world *w)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(9);
    for (;;) {
        int32_t s;
        double now_s = time_of(w->p);
        raise(SIGSTOP);
        set(&w->p->mark, 1);
        s = rllb_balancer_pick(w->victim.b, 1, now_s);
        set(&w->p->mark, 2);
        set(&w->p->held, (uint64_t)(int64_t)held(w->victim.b));
        if (rllb_balancer_done(w->victim.b, s, now_s, now_s, RLLB_OUTCOME_OK) != RLLB_OK) count(&w->p->wrong);
    }
}

static bool stops(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
}

/* One pick, overtaken after `steps` instructions; false: it takes fewer. */
static bool overtake(world *w, pid_t child, int32_t steps, int times)
{
    static uint64_t generation = 1;
    bool long_enough;
    int32_t i;

    set(&w->p->mark, 0);
    CHECK_EQ_I(publish(w->keeper.b, ++generation, time_of(w->p)), RLLB_OK);
    while (get(&w->p->mark) < 1 && single_step(child)) {}
    for (i = 0; i < steps && get(&w->p->mark) == 1 && single_step(child); i++) {}
    long_enough = get(&w->p->mark) == 1;
    for (i = 0; i < times; i++) CHECK_EQ_I(publish(w->keeper.b, ++generation, time_of(w->p)), RLLB_OK);
    CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    CHECK(stops(child));
    CHECK((int64_t)get(&w->p->held) >= 0);
    return long_enough;
}
#endif

TEST(a_kill_after_any_instruction)
{
#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__))
    int which;
    int32_t looks;

    for (which = 0; which < CALL_NUM; which += CALLS_STEP) {
        looks = look_at_each((call)which);
        if (looks < 0) SKIP("no process may be single-stepped here");
        NOTE("%s: %d states", call_names[which], (int)looks);
        CHECK(looks > 20);
    }
#else
    SKIP("single steps are Linux's, on x86");
#endif
}

TEST(a_reader_overtaken_at_any_instruction)
{
#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__))
    int32_t steps = 0, rounds = 0;
    world w;
    pid_t child;

    REQUIRE(world_with_history(&w, CALL_PICK));
    child = child_begin();
    if (child == 0) child_is_overtaken(&w);
    REQUIRE(child > 0);
    if (!stops(child)) SKIP("no process may be single-stepped here");
    while (overtake(&w, child, steps, 1 + rounds % 3) && test_state.failures == 0) {
        steps += OVERTAKEN_STEP;
        rounds++;
    }
    CHECK(WIFSIGNALED(child_end(child)));
    CHECK_EQ_U(get(&w.p->wrong), 0);
    NOTE("%d picks of %d instructions", (int)rounds, (int)steps);
    CHECK(rounds > 10);
    world_end(&w);
#else
    SKIP("single steps are Linux's, on x86");
#endif
}
