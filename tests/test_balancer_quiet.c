/* test_balancer_quiet.c - after init a balancer asks nothing of the system: no memory, no lock, no clock, no call

   Two traps, each first shown to close. Functions of the C library that allocate, lock, tell the time or write are
   replaced here by ones that count; only glibc lets a program do that, and not under a sanitizer, which replaces them
   itself. And a child gives up the right to system calls (seccomp's strict mode: read, write and exit are left): any
   other one kills it, and so does reading the processor's clock, without which no C library tells the time.
   In both, every function of a balancer is called for every policy, its cold ones and its refusals too. */

#define _GNU_SOURCE

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#endif

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- what is replaced ---------------------------------------------------------------------------------------- */

#define TRAP_LIST(X) \
    X(malloc) X(calloc) X(realloc) X(free) X(posix_memalign) X(pthread_mutex_lock) X(pthread_mutex_trylock) \
    X(pthread_rwlock_rdlock) X(pthread_rwlock_wrlock) X(pthread_spin_lock) X(clock_gettime) X(gettimeofday) X(time) \
    X(clock) X(write) X(getenv)

enum {
#define TRAP_ENUM(name) TRAP_##name,
    TRAP_LIST(TRAP_ENUM)
#undef TRAP_ENUM
    TRAPS
};

static const char *const trap_names[TRAPS] = {
#define TRAP_NAME(name) #name,
    TRAP_LIST(TRAP_NAME)
#undef TRAP_NAME
};

static volatile bool trap_set;
static volatile int trapped[TRAPS];

#if defined(__linux__) && defined(__GLIBC__) && !defined(SANITIZED)
#define TRAPS_WORK 1

static void trap(int which)
{
    if (trap_set) trapped[which]++;
}

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);
int gettimeofday(struct timeval *now, void *zone);

void *malloc(size_t bytes)
{
    trap(TRAP_malloc);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    trap(TRAP_calloc);
    return __libc_calloc(count, bytes);
}

void *realloc(void *block, size_t bytes)
{
    trap(TRAP_realloc);
    return __libc_realloc(block, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    trap(TRAP_posix_memalign);
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : ENOMEM;
}

void free(void *block)
{
    trap(TRAP_free);
    __libc_free(block);
}

/* One thread only: a lock is always free. */
int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    (void)mutex;
    trap(TRAP_pthread_mutex_lock);
    return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    (void)mutex;
    trap(TRAP_pthread_mutex_trylock);
    return 0;
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    (void)lock;
    trap(TRAP_pthread_rwlock_rdlock);
    return 0;
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    (void)lock;
    trap(TRAP_pthread_rwlock_wrlock);
    return 0;
}

int pthread_spin_lock(pthread_spinlock_t *lock)
{
    (void)lock;
    trap(TRAP_pthread_spin_lock);
    return 0;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    trap(TRAP_clock_gettime);
    return (int)syscall(SYS_clock_gettime, which, now);
}

int gettimeofday(struct timeval *now, void *zone)
{
    trap(TRAP_gettimeofday);
    return (int)syscall(SYS_gettimeofday, now, zone);
}

time_t time(time_t *out)
{
    struct timespec now = { 0, 0 };
    trap(TRAP_time);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

clock_t clock(void)
{
    struct timespec now = { 0, 0 };
    trap(TRAP_clock);
    syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &now);
    return (clock_t)(now.tv_sec * CLOCKS_PER_SEC + now.tv_nsec / (1000000000 / CLOCKS_PER_SEC));
}

ssize_t write(int file, const void *bytes, size_t count)
{
    trap(TRAP_write);
    return (ssize_t)syscall(SYS_write, file, bytes, count);
}

extern char **environ;

char *getenv(const char *name)
{
    size_t length = strlen(name);
    char **e;

    trap(TRAP_getenv);
    for (e = environ; e && *e; e++) {
        if (strncmp(*e, name, length) == 0 && (*e)[length] == '=') return *e + length + 1;
    }
    return NULL;
}
#endif

/* ---- what is called ------------------------------------------------------------------------------------------ */

enum { SERVERS = 5, CAPACITY = 8, FLYING = 12, ROUNDS = 6000, TEXT = 32768, RUNS = RLLB_BALANCE_NUM + 1 };

/* What a run did; in memory that a child shares, so that it can be told after its end. */
typedef struct run {
    const char *volatile at; /* the call that is under way */
    volatile bool finished;
    int64_t picks, none, done, ticks, observed, acts, refusals, logged, added, removed, lost;
    uint64_t ejections, probes, controls, fallbacks, bad_server, bad_time, stray;
    size_t text_prometheus, text_influx;
} run;

typedef struct bench {
    rllb_balancer_desc desc;
    rllb_balancer *keeper, *other; /* workers 0 and 1 of one block */
    void *block, *memory[2];
    run *out;
} bench;

static float oracle[CAPACITY];
static char text[TEXT];

#define CALL(expression) (out->at = #expression, (expression))

static void controller(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    int32_t i;

    (void)self;
    for (i = 0; i < actions; i++) action[i] = 1 + (observations > i ? observation[i] : 0);
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

static void heard(void *self, rllb_status status, const char *detail)
{
    run *out = (run *)self;

    (void)status;
    (void)detail;
    out->logged++;
}

/* One run more than there are policies: LEARNED with a controller of its own, and with actions from outside. */
static rllb_balance policy_of(int which)
{
    return which < RLLB_BALANCE_NUM ? (rllb_balance)which : RLLB_BALANCE_LEARNED;
}

static bool set_up(bench *t, int which, run *out)
{
    static const rllb_server_desc servers[SERVERS] = {
        { "one", 1 }, { "two", 2 }, { "three", 1.5f }, { NULL, 0.5f }, { "five", 4 }
    };
    rllb_balancer_desc *d = &t->desc;
    int i;

    memset(t, 0, sizeof *t);
    t->out = out;
    rllb_balancer_desc_default(d);
    d->policy = policy_of(which);
    d->servers = servers;
    d->count = SERVERS;
    d->capacity = CAPACITY;
    d->seed = 61;
    d->stream = (uint64_t)which;
    d->table = 251;
    d->slots = 32;
    d->workers = 2;
    d->oracle = oracle;
    d->choose = chooser;
    d->control = which < RLLB_BALANCE_NUM ? controller : NULL;
    d->control_form = which % 2 == 0;
    d->form = which % 2 == 0 ? RLLB_FORM_DRAW : RLLB_FORM_DEFAULT;
    d->by_stretch = which % 2 == 0;
    d->features = (rllb_features)(which % RLLB_FEATURES_NUM);
    d->reward = (rllb_reward)(which % RLLB_REWARD_NUM);
    d->logger.fn = heard;
    d->logger.user = out;
    d->shared_size = rllb_balancer_shared_size(d);
    if (d->shared_size == 0 || posix_memalign(&t->block, 64, d->shared_size) != 0) return false;
    d->shared = t->block;
    for (i = 0; i < 2; i++) {
        size_t size = rllb_balancer_size(d);
        d->worker = i;
        d->join = i > 0;
        t->memory[i] = malloc(size);
        if (!t->memory[i]) return false;
        if (rllb_balancer_init(d, t->memory[i], size, i ? &t->other : &t->keeper) != RLLB_OK) return false;
    }
    return true;
}

static void tear_down(bench *t)
{
    free(t->memory[0]);
    free(t->memory[1]);
    free(t->block);
}

/* Calls that are refused. */
static void wrong_calls(bench *t, double now_s)
{
    rllb_balancer *b = t->keeper;
    run *out = t->out;
    rllb_server_desc server = { "none", 0 };
    rllb_server_info info;
    float action[CAPACITY] = { 1, -1, 1, 1, 1, 1, 1, 1 };
    int32_t index;

    out->refusals += CALL(rllb_balancer_done(b, -1, 0, now_s, RLLB_OUTCOME_OK)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_done(b, CAPACITY, 0, now_s, RLLB_OUTCOME_OK)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_sample(b, CAPACITY, 1, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_sample(b, 0, (double)NAN, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_report(b, 99, NULL, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_act(b, action, 2, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_act(b, action, CAPACITY, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_add(b, &server, now_s, &index)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_remove(b, 77, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_set_weight(b, 0, -1, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_set_state(b, 0, RLLB_SERVER_STATE_NUM, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_set_trust(b, false, 2, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_resync(b, 2, now_s)) != RLLB_OK;
    out->refusals += CALL(rllb_balancer_server(b, 88, &info)) != RLLB_OK;
}

/* Servers come, go, and change. */
static void change_servers(bench *t, int round, double now_s)
{
    rllb_balancer *b = t->keeper;
    run *out = t->out;
    rllb_server_desc server = { "late", 3 };
    int32_t index;

    switch (round / 100 % 7) {
    case 0: out->added += CALL(rllb_balancer_add(b, &server, now_s, &index)) == RLLB_OK; break;
    case 1: CALL(rllb_balancer_set_weight(b, 1, 1 + (float)(round % 5), now_s)); break;
    case 2: CALL(rllb_balancer_set_state(b, 2, RLLB_SERVER_DRAINING, now_s)); break;
    case 3: CALL(rllb_balancer_set_state(b, 2, RLLB_SERVER_UP, now_s)); break;
    case 4: CALL(rllb_balancer_set_trust(b, round / 700 % 2 == 0, 0.5f, now_s)); break;
    case 5: CALL(rllb_balancer_set_trust(b, false, 1, now_s)); break;
    default: out->removed += CALL(rllb_balancer_remove(b, SERVERS, now_s)) == RLLB_OK; break;
    }
}

/* What is read, by whom it may concern. */
static void look(bench *t, double now_s)
{
    rllb_balancer *b = t->keeper;
    run *out = t->out;
    rllb_balancer_desc resolved;
    rllb_server_info info;
    int32_t i, observations = 0;

    out->observed += CALL(rllb_balancer_observe(b, &observations)) != NULL;
    CALL(rllb_balancer_reward(b));
    CALL(rllb_balancer_reward_shared(&b, 1, false));
    CALL(rllb_balancer_reward_shared(&b, 1, true));
    for (i = CALL(rllb_balancer_servers(b)); i-- > 0;) CALL(rllb_balancer_server(b, i, &info));
    CALL(rllb_balancer_query(b, &resolved));
    out->text_prometheus = CALL(rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, now_s, text, sizeof text));
    out->text_influx = CALL(rllb_balancer_metrics(b, RLLB_METRICS_INFLUX, now_s, text, sizeof text));
    CALL(rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, now_s, text, 1000));
    CALL(rllb_balancer_metrics(b, RLLB_METRICS_INFLUX, now_s, text, 0));
}

static void tell(bench *t, rllb_balancer *b, int round, double now_s)
{
    run *out = t->out;
    rllb_report report;
    int32_t servers[3];

    report.in_flight = (float)(round % 4);
    report.latency_s = 0.01f;
    report.utilisation = (float)(round % 10);
    CALL(rllb_balancer_report(b, round % SERVERS, &report, now_s));
    CALL(rllb_balancer_sample(b, round % SERVERS, 0.02, now_s));
    CALL(rllb_balancer_probe(b, servers, 3));
}

/* Everything, for about 15 s of the balancer's time; half way the keeper sleeps for ten seconds, so that the controller
   grows stale. The requests of server 3 fail for a while, so that it is ejected and comes back. */
static void everything(bench *t)
{
    run *out = t->out;
    double now_s = 1, started[FLYING] = { 0 };
    int32_t flying[FLYING], server, tried[2];
    float action[CAPACITY + 3];
    rllb_counters counters;
    int i, round;

    for (i = 0; i < FLYING; i++) flying[i] = -1;
    for (round = 0; round < ROUNDS; round++) {
        rllb_balancer *b = round % 2 ? t->other : t->keeper;
        int32_t *slot = &flying[round % FLYING]; /* FLYING is even: a request ends with the handle that picked it */
        now_s += round == ROUNDS / 2 ? 10 : 0.0008;
        oracle[round % CAPACITY] = (float)(round % 3);
        if (*slot >= 0) {
            bool fails = *slot == 3 && round < ROUNDS / 4;
            rllb_outcome outcome = fails ? RLLB_OUTCOME_FAILED : round % 50 ? RLLB_OUTCOME_OK : RLLB_OUTCOME_CANCELLED;
            out->done += CALL(rllb_balancer_done(b, *slot, started[round % FLYING], now_s, outcome)) == RLLB_OK;
        }
        server = CALL(rllb_balancer_pick(b, (uint64_t)round * 0x9e3779b97f4a7c15u, now_s));
        if (server >= 0 && round % 40 == 0) { /* a retry elsewhere */
            tried[0] = server;
            CALL(rllb_balancer_done(b, server, now_s, now_s, RLLB_OUTCOME_CANCELLED));
            server = CALL(rllb_balancer_pick_other(b, tried, 1, now_s));
        }
        *slot = server;
        started[round % FLYING] = now_s;
        if (server >= 0) out->picks++;
        else out->none++;
        if (round % 5 == 0) tell(t, b, round / 5, now_s);
        if (round % 100 == 0) change_servers(t, round, now_s);
        if (!CALL(rllb_balancer_tick(t->keeper, now_s))) continue;
        out->ticks++;
        for (i = 0; i < CAPACITY + 3; i++) action[i] = 1 + (float)((round + i) % 3);
        server = CALL(rllb_balancer_servers(t->keeper));
        out->acts += CALL(rllb_balancer_act(t->keeper, action, server, now_s)) == RLLB_OK;
        out->acts += CALL(rllb_balancer_act(t->keeper, action, server + 3, now_s)) == RLLB_OK;
        look(t, now_s);
        wrong_calls(t, now_s);
    }
    CALL(rllb_balancer_resync(t->keeper, 1, now_s));
    CALL(rllb_balancer_counters(t->keeper, &counters));
    out->ejections = counters.ejections;
    out->probes = counters.probes;
    out->controls = counters.controls;
    out->fallbacks = counters.fallbacks;
    out->bad_server = counters.bad_server;
    out->bad_time = counters.bad_time;
    out->lost = (int64_t)counters.lost;
    out->at = "the end";
    out->finished = true;
}

/* A trap that nothing walks into proves nothing: all that everything() set out to do must have come about. */
static void was_everything(const run *out, int which)
{
    bool learned = policy_of(which) == RLLB_BALANCE_LEARNED;

    NOTE("%s: %d picks, %d ticks, %d actions, %d ejections, %d bytes of metrics", rllb_balance_name(policy_of(which)),
         (int)out->picks, (int)out->ticks, (int)out->acts, (int)out->ejections, (int)out->text_prometheus);
    CHECK(out->picks > ROUNDS * 9 / 10);
    CHECK(out->done > ROUNDS * 8 / 10);
    CHECK(out->ticks >= 15);
    CHECK_EQ_I(out->observed, out->ticks);
    CHECK(out->ejections > 0);
    CHECK(out->bad_server > 0 && out->bad_time > 0);
    CHECK(out->refusals >= 10 * out->ticks);
    CHECK(out->added > 0 && out->removed > 0);
    CHECK(out->lost > 0);
    CHECK(out->text_prometheus > 1000 && out->text_prometheus < TEXT);
    CHECK(out->text_influx > 500 && out->text_influx < TEXT);
    if (learned) CHECK(out->controls > 0);
    if (which == RLLB_BALANCE_NUM) CHECK(out->acts > 0 && out->fallbacks > 0);
}

/* ---- the tests ----------------------------------------------------------------------------------------------- */

static void free_traps(void)
{
    int i;

    for (i = 0; i < TRAPS; i++) trapped[i] = 0;
}

TEST(the_library_is_left_alone)
{
    static run out;
    bench t;
    int which, i;

    for (which = 0; which < RUNS; which++) {
        memset(&out, 0, sizeof out);
        REQUIRE(set_up(&t, which, &out));
        free_traps();
        trap_set = true;
        everything(&t);
        trap_set = false;
        was_everything(&out, which);
        for (i = 0; i < TRAPS; i++) {
            if (trapped[i]) NOTE("%s: %s", rllb_balance_name(policy_of(which)), trap_names[i]);
            CHECK_EQ_I(trapped[i], 0);
        }
        tear_down(&t);
    }
#ifndef TRAPS_WORK
    SKIP("functions of the C library can be replaced with glibc and without sanitizers only; all was called all the "
         "same");
#endif
}

#ifdef TRAPS_WORK
static pthread_mutex_t control_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t control_rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t control_spinlock;

/* The compiler must not know what comes of it, or it leaves out what nobody uses. */
static void *volatile control_block;

static void walk_into_traps(void)
{
    struct timespec now;
    struct timeval then;
    void *block = NULL;

    control_block = malloc(10);
    control_block = realloc(control_block, 20);
    free(control_block);
    control_block = calloc(2, 10);
    free(control_block);
    if (posix_memalign(&block, 64, 64) == 0) free(block);
    pthread_mutex_lock(&control_mutex);
    pthread_mutex_trylock(&control_mutex);
    pthread_rwlock_rdlock(&control_rwlock);
    pthread_rwlock_wrlock(&control_rwlock);
    pthread_spin_lock(&control_spinlock);
    clock_gettime(CLOCK_MONOTONIC, &now);
    gettimeofday(&then, NULL);
    time(NULL);
    clock();
    getenv("HOME");
    if (write(-1, "", 1) >= 0) control_block = NULL;
}
#endif

TEST(control_the_library_is_watched)
{
#ifdef TRAPS_WORK
    bench t;
    rllb_balancer *made;
    static run out;
    int i;

    free_traps();
    trap_set = true;
    walk_into_traps();
    trap_set = false;
    for (i = 0; i < TRAPS; i++) {
        NOTE("%s", trap_names[i]);
        CHECK(trapped[i] > 0);
    }
    REQUIRE(set_up(&t, RLLB_BALANCE_SED, &out)); /* and from within rllb.h, by the functions that do allocate */
    free_traps();
    trap_set = true;
    made = rllb_balancer_create(&t.desc);
    rllb_balancer_destroy(made);
    trap_set = false;
    CHECK(made != NULL);
    CHECK_EQ_I(trapped[TRAP_malloc], 1);
    CHECK_EQ_I(trapped[TRAP_free], 1);
    tear_down(&t);
#else
    SKIP("functions of the C library can be replaced with glibc and without sanitizers only");
#endif
}

#if defined(__linux__) && !defined(SANITIZED)
enum { SECCOMP_STRICT = 1 }; /* SECCOMP_MODE_STRICT of linux/seccomp.h, which not every libc brings along */
enum { NO_SECCOMP = 99 };

/* Runs fn in a child that may make no system call; the status that it ended with. */
static int in_silence(void (*fn)(void *), void *self)
{
    int status = -1;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_STRICT) != 0) syscall(SYS_exit, NO_SECCOMP);
        fn(self);
        syscall(SYS_exit, 0);
    }
    if (child < 0) return -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

static void silent_everything(void *self) { everything((bench *)self); }
static void do_nothing(void *self) { (void)self; }
static void do_a_call(void *self) { *(volatile long *)self = syscall(SYS_getppid); }
static void do_allocate(void *self) { *(void *volatile *)self = malloc((size_t)1 << 24); }

static void do_read_a_clock(void *self)
{
    struct timespec now;
    *(volatile int *)self = clock_gettime(CLOCK_MONOTONIC, &now);
}

#if defined(__x86_64__) || defined(__i386__)
static void do_read_the_counter(void *self) { *(volatile uint64_t *)self = __builtin_ia32_rdtsc(); }
#endif

static bool seccomp_works(void)
{
    int status = in_silence(do_nothing, NULL);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void *shared_page(size_t bytes)
{
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}
#endif

TEST(the_system_is_left_alone)
{
#if defined(__linux__) && !defined(SANITIZED)
    run *out = (run *)shared_page(sizeof *out);
    bench t;
    int which, status;

    REQUIRE(out != NULL);
    if (!seccomp_works()) SKIP("this system has no seccomp");
    for (which = 0; which < RUNS; which++) {
        memset(out, 0, sizeof *out);
        REQUIRE(set_up(&t, which, out));
        status = in_silence(silent_everything, &t);
        if (!out->finished) NOTE("%s: died in %s", rllb_balance_name(policy_of(which)), out->at ? out->at : "fork");
        else was_everything(out, which);
        CHECK(out->finished);
        CHECK_EQ_I(status, 0);
        tear_down(&t);
    }
    munmap(out, sizeof *out);
#else
    SKIP("seccomp is Linux's, and sanitizers make system calls of their own");
#endif
}

TEST(control_the_system_is_watched)
{
#if defined(__linux__) && !defined(SANITIZED)
    uint64_t *page = (uint64_t *)shared_page(64);
    int status;

    REQUIRE(page != NULL);
    if (!seccomp_works()) SKIP("this system has no seccomp");
    status = in_silence(do_a_call, page);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = in_silence(do_allocate, page);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = in_silence(do_read_a_clock, page);
    CHECK(WIFSIGNALED(status));
#if defined(__x86_64__) || defined(__i386__)
    status = in_silence(do_read_the_counter, page);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
    munmap(page, 64);
#else
    SKIP("seccomp is Linux's, and sanitizers make system calls of their own");
#endif
}
