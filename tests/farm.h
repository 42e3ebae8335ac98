/* farm.h - a farm in simulated time: clients, balancers with views of their own, servers that go wrong

       farm f;
       farm_desc d = farm_plain(10, 4, 0.05, 0.7);          10 servers of 4 slots, 50 ms of work each, load 0.7
       d.balancer.policy = RLLB_BALANCE_LSQ;
       if (!farm_open(&f, &d)) ...
       farm_run(&f, 10);                                    until 10 s
       farm_fail(&f, 3, 1, 0.001);                          from now on server 3 fails all it gets within 1 ms
       farm_mark(&f);                                       counts start anew
       farm_run(&f, 40);
       share = farm_share(&f, 3);                           of the requests since the mark
       farm_close(&f);

   A test is a story: run, change something, mark, run on, look. Requests arrive as a Poisson process, each at one of
   the balancers at random, and bring exponential work in seconds of one CPU at speed 1. A server runs up to `active`
   of them at once, each at speed * min(1, cpus / running): active == cpus is a queue with as many slots, first come,
   first served; more is processor sharing. The others wait in order; one more than `most` in all is refused at once.
   All running requests of a server advance alike, so it needs but one clock, of the service that each has got, and a
   heap of the clock's values at which they end. The client gives up after timeout_s; the server does not notice.

   Work, arrivals and balancers at random come from streams of their own: two farms of one seed get the same requests,
   whatever the policy does with them. Nothing here reads a clock. */

#ifndef FARM_H
#define FARM_H

#include <stdlib.h>

#include "rllb.h"

enum {
    FARM_SERVERS_MAX = 64,
    FARM_BALANCERS_MAX = 16,
    FARM_ACTIVE_MAX = 32,
    FARM_JOBS_MAX = 1 << 15,
    FARM_BINS = 640 /* of the durations, 40 to a factor of e, from 10 us */
};

typedef struct farm_server {
    int32_t cpus, active, most;
    double speed;        /* now */
    double native_speed; /* as opened */
    double fail_chance, fail_s;
    double clock, clock_at_s; /* service each running request has got, and when that was */
    int32_t heap[FARM_ACTIVE_MAX], running;
    int32_t first, last, waiting; /* queue of requests, linked by `next` */
} farm_server;

typedef struct farm_job {
    double arrived_s, work, ends; /* ends: on the server's clock, or the time when it fails */
    int32_t server, balancer, next;
    int32_t older, younger; /* those still awaited, in order of arrival */
    bool awaited;
} farm_job;

typedef struct farm_count {
    uint64_t picks, ok, failed;
    double sum_s; /* of durations that were ok */
} farm_count;

typedef struct farm farm;

typedef struct farm_desc {
    rllb_balancer_desc balancer; /* of each; capacity defaults to the servers, stream is the balancer's index */
    int32_t balancers, servers;
    int32_t cpus[FARM_SERVERS_MAX], active[FARM_SERVERS_MAX], most;
    double speed[FARM_SERVERS_MAX];
    float weight[FARM_SERVERS_MAX]; /* as configured at the balancers */
    double rate, work_s, timeout_s; /* arrivals per second; mean work; 0: clients wait for ever */
    uint64_t seed;
    void (*before_pick)(farm *f, int32_t balancer);
    void (*after_tick)(farm *f, int32_t balancer); /* after ticks that did their work */
    void (*after_done)(farm *f, int32_t balancer, int32_t server, double took_s); /* of those that were ok */
    void *user;
} farm_desc;

struct farm {
    farm_desc desc;
    int32_t servers, free_job, oldest, youngest, failing;
    double now_s, next_arrival_s, next_tick_s;
    double next_end_s[FARM_SERVERS_MAX];
    int32_t tick_turn;
    farm_server server[FARM_SERVERS_MAX];
    rllb_balancer *balancer[FARM_BALANCERS_MAX];
    rllb_rng arrivals, works, keys, faults;
    farm_job *job;
    int32_t *fail_heap; /* requests that fail by themselves, by time */
    /* since the mark */
    farm_count count[FARM_SERVERS_MAX], all;
    uint64_t nowhere, refused, timed_out, lost_jobs;
    uint64_t bin[FARM_BINS];
    /* since the beginning */
    uint64_t flows, hash; /* hash: of all picks in order */
};

/* ---- heaps of requests by `ends` ----------------------------------------------------------------------------- */

static inline void farm_sink(const farm_job *job, int32_t *heap, int32_t count, int32_t at, int32_t id)
{
    int32_t child;

    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && job[heap[child + 1]].ends < job[heap[child]].ends) child++;
        if (job[heap[child]].ends >= job[id].ends) break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

static inline void farm_push(const farm_job *job, int32_t *heap, int32_t *count, int32_t id)
{
    int32_t at = (*count)++;

    for (; at > 0 && job[heap[(at - 1) / 2]].ends > job[id].ends; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = id;
}

static inline int32_t farm_pop(const farm_job *job, int32_t *heap, int32_t *count)
{
    int32_t top = heap[0];

    (*count)--;
    if (*count) farm_sink(job, heap, *count, 0, heap[*count]);
    return top;
}

/* ---- servers ------------------------------------------------------------------------------------------------- */

static inline double farm_pace(const farm_server *s)
{
    return s->running > s->cpus ? s->speed * s->cpus / s->running : s->speed;
}

/* Brings a server's clock up to now; before anything about it changes. */
static inline void farm_settle(farm *f, int32_t server)
{
    farm_server *s = &f->server[server];

    s->clock += (f->now_s - s->clock_at_s) * farm_pace(s);
    s->clock_at_s = f->now_s;
}

/* When its next request ends; after anything about it has changed. */
static inline void farm_plan(farm *f, int32_t server)
{
    const farm_server *s = &f->server[server];
    double pace = farm_pace(s), left;

    f->next_end_s[server] = (double)INFINITY;
    if (s->running == 0 || pace <= 0) return;
    left = f->job[s->heap[0]].ends - s->clock;
    f->next_end_s[server] = f->now_s + (left > 0 ? left / pace : 0);
}

static inline void farm_speed(farm *f, int32_t server, double times_native)
{
    farm_settle(f, server);
    f->server[server].speed = f->server[server].native_speed * times_native;
    farm_plan(f, server);
}

/* From now on a request to this server fails with that chance, after fail_s; it takes no part in the service. */
static inline void farm_fail(farm *f, int32_t server, double chance, double fail_s)
{
    f->server[server].fail_chance = chance;
    f->server[server].fail_s = fail_s;
}

static inline void farm_heal(farm *f, int32_t server)
{
    farm_fail(f, server, 0, 0);
    farm_speed(f, server, 1);
}

static inline void farm_start(farm *f, farm_server *s, int32_t id)
{
    f->job[id].ends = s->clock + f->job[id].work;
    farm_push(f->job, s->heap, &s->running, id);
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

static inline int32_t farm_job_new(farm *f)
{
    int32_t id = f->free_job;
    farm_job *j;

    if (id < 0) return -1;
    j = &f->job[id];
    f->free_job = j->next;
    j->awaited = true;
    j->next = j->younger = -1;
    j->older = f->youngest;
    if (f->youngest >= 0) f->job[f->youngest].younger = id;
    else f->oldest = id;
    f->youngest = id;
    return id;
}

static inline void farm_job_free(farm *f, int32_t id)
{
    f->job[id].next = f->free_job;
    f->free_job = id;
}

static inline int32_t farm_bin(double duration_s)
{
    double at = 40 * log(duration_s * 1e5);
    return at > 0 ? at < FARM_BINS - 1 ? (int32_t)at : FARM_BINS - 1 : 0;
}

/* The client has its answer, or has given up. */
static inline void farm_answer(farm *f, int32_t id, rllb_outcome outcome)
{
    farm_job *j = &f->job[id];
    double took_s = f->now_s - j->arrived_s;

    if (!j->awaited) return;
    j->awaited = false;
    if (j->older >= 0) f->job[j->older].younger = j->younger;
    else f->oldest = j->younger;
    if (j->younger >= 0) f->job[j->younger].older = j->older;
    else f->youngest = j->older;
    rllb_balancer_done(f->balancer[j->balancer], j->server, j->arrived_s, f->now_s, outcome);
    if (outcome != RLLB_OUTCOME_OK) {
        f->count[j->server].failed++;
        f->all.failed++;
        return;
    }
    f->count[j->server].ok++;
    f->count[j->server].sum_s += took_s;
    f->all.ok++;
    f->all.sum_s += took_s;
    f->bin[farm_bin(took_s)]++;
    if (f->desc.after_done) f->desc.after_done(f, j->balancer, j->server, took_s);
}

static inline void farm_serve(farm *f, int32_t id)
{
    farm_job *j = &f->job[id];
    farm_server *s = &f->server[j->server];

    if (s->fail_chance > 0 && rllb_rng_double(&f->faults) < s->fail_chance) {
        j->ends = f->now_s + s->fail_s;
        farm_push(f->job, f->fail_heap, &f->failing, id);
        return;
    }
    if (s->running + s->waiting >= s->most) {
        f->refused++;
        farm_answer(f, id, RLLB_OUTCOME_FAILED);
        farm_job_free(f, id);
        return;
    }
    if (s->running < s->active) {
        farm_settle(f, j->server);
        farm_start(f, s, id);
        farm_plan(f, j->server);
        return;
    }
    if (s->waiting) f->job[s->last].next = id;
    else s->first = id;
    s->last = id;
    s->waiting++;
}

static inline void farm_arrive(farm *f)
{
    double work = rllb_rng_exponential(&f->works, f->desc.work_s);
    uint64_t key = rllb_rng_u64(&f->keys) | 1;
    int32_t balancer = (int32_t)((key >> 33) % (uint64_t)f->desc.balancers), server, id;

    f->next_arrival_s = f->now_s + rllb_rng_exponential(&f->arrivals, 1 / f->desc.rate);
    if (f->desc.before_pick) f->desc.before_pick(f, balancer);
    server = rllb_balancer_pick(f->balancer[balancer], key, f->now_s);
    f->flows++;
    f->hash = (f->hash ^ (uint64_t)(server + 1)) * UINT64_C(1099511628211);
    f->all.picks++;
    if (server < 0) {
        f->nowhere++;
        return;
    }
    f->count[server].picks++;
    id = farm_job_new(f);
    if (id < 0) {
        f->lost_jobs++;
        rllb_balancer_done(f->balancer[balancer], server, f->now_s, f->now_s, RLLB_OUTCOME_CANCELLED);
        return;
    }
    f->job[id].arrived_s = f->now_s;
    f->job[id].work = work;
    f->job[id].server = server;
    f->job[id].balancer = balancer;
    farm_serve(f, id);
}

static inline void farm_end(farm *f, int32_t server)
{
    farm_server *s = &f->server[server];
    int32_t id, next;

    farm_settle(f, server);
    id = farm_pop(f->job, s->heap, &s->running);
    farm_answer(f, id, RLLB_OUTCOME_OK);
    farm_job_free(f, id);
    if (s->waiting) {
        next = s->first;
        s->first = f->job[next].next;
        s->waiting--;
        farm_start(f, s, next);
    }
    farm_plan(f, server);
}

/* ---- the farm ------------------------------------------------------------------------------------------------ */

static inline farm_desc farm_plain(int32_t servers, int32_t slots, double work_s, double load)
{
    farm_desc d;
    int32_t i;

    memset(&d, 0, sizeof d);
    d.balancers = 1;
    d.servers = servers;
    d.most = 1000;
    d.work_s = work_s;
    d.rate = load * servers * slots / work_s;
    d.seed = 1;
    for (i = 0; i < FARM_SERVERS_MAX; i++) {
        d.cpus[i] = d.active[i] = slots;
        d.speed[i] = 1;
        d.weight[i] = 1;
    }
    return d;
}

/* The farm's own side of a server that balancers know, or will be told of with rllb_balancer_add. */
static inline void farm_server_init(farm *f, int32_t i)
{
    farm_server *s = &f->server[i];

    memset(s, 0, sizeof *s);
    s->cpus = f->desc.cpus[i];
    s->active = f->desc.active[i];
    s->most = f->desc.most;
    s->speed = s->native_speed = f->desc.speed[i];
    s->clock_at_s = f->now_s;
    f->next_end_s[i] = (double)INFINITY;
}

static inline void farm_mark(farm *f)
{
    memset(f->count, 0, sizeof f->count);
    memset(&f->all, 0, sizeof f->all);
    memset(f->bin, 0, sizeof f->bin);
    f->nowhere = f->refused = f->timed_out = 0;
}

static inline void farm_close(farm *f)
{
    int32_t i;

    for (i = 0; i < f->desc.balancers; i++) rllb_balancer_destroy(f->balancer[i]);
    free(f->job);
    free(f->fail_heap);
    memset(f, 0, sizeof *f);
}

static inline bool farm_open(farm *f, const farm_desc *desc)
{
    rllb_server_desc servers[FARM_SERVERS_MAX];
    rllb_balancer_desc b = desc->balancer;
    int32_t i;
    bool ok;

    memset(f, 0, sizeof *f);
    f->desc = *desc;
    f->servers = desc->servers;
    f->job = (farm_job *)malloc(FARM_JOBS_MAX * sizeof *f->job);
    f->fail_heap = (int32_t *)malloc(FARM_JOBS_MAX * sizeof *f->fail_heap);
    ok = f->job && f->fail_heap;
    for (i = 0; ok && i < FARM_JOBS_MAX; i++) f->job[i].next = i + 1 < FARM_JOBS_MAX ? i + 1 : -1;
    f->oldest = f->youngest = -1;
    for (i = 0; i < FARM_SERVERS_MAX; i++) farm_server_init(f, i);
    for (i = 0; i < desc->servers; i++) {
        servers[i].name = NULL;
        servers[i].weight = desc->weight[i];
    }
    b.servers = servers;
    b.count = desc->servers;
    for (i = 0; i < desc->balancers; i++) {
        b.seed = desc->seed;
        b.stream = (uint64_t)i + 100;
        f->balancer[i] = rllb_balancer_create(&b);
        ok = ok && f->balancer[i];
    }
    rllb_rng_init(&f->arrivals, desc->seed, 0);
    rllb_rng_init(&f->works, desc->seed, 1);
    rllb_rng_init(&f->keys, desc->seed, 2);
    rllb_rng_init(&f->faults, desc->seed, 3);
    f->next_arrival_s = rllb_rng_exponential(&f->arrivals, 1 / desc->rate);
    f->hash = UINT64_C(14695981039346656037);
    if (!ok) farm_close(f);
    return ok;
}

/* Balancers look at the time 20 times a second in turn; tick itself knows when an interval is over. */
static inline void farm_tick(farm *f)
{
    int32_t i = f->tick_turn;

    f->tick_turn = (i + 1) % f->desc.balancers;
    f->next_tick_s += 0.05 / f->desc.balancers;
    if (rllb_balancer_tick(f->balancer[i], f->now_s) && f->desc.after_tick) f->desc.after_tick(f, i);
}

static inline void farm_run(farm *f, double until_s)
{
    double next_s, fail_s, timeout_s;
    int32_t i, who, id;

    for (;;) {
        next_s = f->next_arrival_s;
        who = -1;
        for (i = 0; i < f->servers; i++) {
            if (f->next_end_s[i] < next_s) next_s = f->next_end_s[i], who = i;
        }
        fail_s = f->failing ? f->job[f->fail_heap[0]].ends : (double)INFINITY;
        timeout_s = f->desc.timeout_s > 0 && f->oldest >= 0 ? f->job[f->oldest].arrived_s + f->desc.timeout_s
                                                             : (double)INFINITY;
        if (fail_s < next_s) next_s = fail_s, who = -2;
        if (timeout_s < next_s) next_s = timeout_s, who = -3;
        if (f->next_tick_s < next_s) next_s = f->next_tick_s, who = -4;
        if (next_s >= until_s) break;
        f->now_s = next_s;
        if (who >= 0) farm_end(f, who);
        else if (who == -1) farm_arrive(f);
        else if (who == -4) farm_tick(f);
        else if (who == -2) {
            id = farm_pop(f->job, f->fail_heap, &f->failing);
            farm_answer(f, id, RLLB_OUTCOME_FAILED);
            farm_job_free(f, id);
        } else {
            f->timed_out++;
            farm_answer(f, f->oldest, RLLB_OUTCOME_FAILED); /* its server frees it in the end */
        }
    }
    f->now_s = until_s;
}

/* ---- what was counted since the mark ------------------------------------------------------------------------- */

static inline double farm_share(const farm *f, int32_t server)
{
    return f->all.picks ? (double)f->count[server].picks / (double)f->all.picks : 0;
}

static inline double farm_failures(const farm *f) /* of all that ended */
{
    uint64_t ended = f->all.ok + f->all.failed;
    return ended ? (double)f->all.failed / (double)ended : 0;
}

static inline double farm_mean(const farm_count *c)
{
    return c->ok ? c->sum_s / (double)c->ok : 0;
}

/* Quantile of the durations that were ok, to 2.5 %. */
static inline double farm_quantile(const farm *f, double q)
{
    double left = q * (double)f->all.ok;
    int32_t i;

    for (i = 0; i < FARM_BINS - 1 && (left -= (double)f->bin[i]) > 0; i++) {}
    return 1e-5 * exp((i + 0.5) / 40);
}

static inline rllb_server_info farm_info(const farm *f, int32_t balancer, int32_t server)
{
    rllb_server_info info;

    memset(&info, 0, sizeof info);
    rllb_balancer_server(f->balancer[balancer], server, &info);
    return info;
}

static inline rllb_counters farm_counters(const farm *f, int32_t balancer)
{
    rllb_counters c;

    memset(&c, 0, sizeof c);
    rllb_balancer_counters(f->balancer[balancer], &c);
    return c;
}

#endif /* FARM_H */
