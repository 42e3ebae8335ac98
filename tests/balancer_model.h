/* balancer_model.h - the balancer of rllb.h, step by step against a slow and plain model of it

       model *m = model_create(&source, policy, guards);      draws a descriptor, lays out the block and the handles
       while (m->steps < n && model_step(m)) {}               one call or a few, then everything is compared
       if (model_failed(m)) model_print(m, stdout);           what was expected where, and the last calls
       model_destroy(m);

   The source of all decisions is a seed or the bytes of a fuzzer; the same source gives the same calls. Include after
   rllb.h. The model has arrays that a reader can check against the comments of rllb.h:

     exact       in flight of every worker, picks, done, failed, lost, states and who is usable, configured weights,
                 sums of durations, most of the counters, when a tick works, whether a controller is stale, which
                 server the policies without chance may pick
     followed    what hangs on chance or on moving averages: it is read, held against bounds, and taken over
                 (weights in force, observations, reward, which server a policy with chance picked)

   Wrong calls are part of the sequence: what they may change is part of the model. */

#ifndef BALANCER_MODEL_H
#define BALANCER_MODEL_H

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_SERVERS = 70, MODEL_WORKERS = 4, MODEL_KEEPER = MODEL_WORKERS, MODEL_CALLS = 24 };

typedef enum model_guards { MODEL_GUARDS_ON, MODEL_GUARDS_OFF, MODEL_GUARDS_DRAWN, MODEL_GUARDS_NUM } model_guards;

/* Where decisions come from. */
typedef struct model_source {
    const uint8_t *bytes; /* NULL: from the generator, without end */
    size_t size, at;
    rllb_rng rng;
} model_source;

typedef struct model_call {
    const char *name;
    int32_t handle, server;
    uint64_t key;
    double x, y;
    long long result;
    uint64_t step;
} model_call;

typedef struct model_server {
    rllb_server_state state;
    char name[RLLB_BALANCER_NAME_MAX];
    float weight;
    int32_t in_flight[MODEL_WORKERS];
    uint64_t picks, done, failed, lost, ejections, samples;
    double duration_sum_s;
    int32_t row[MODEL_WORKERS]; /* failures in a row that each worker saw */
    bool over[MODEL_WORKERS];   /* so many that it may pass the server over until the next tick */
    int32_t ends, fails, taken; /* since the last tick that worked; taken: as samples */
    int32_t recent, recent_fails; /* of the last intervals: ten ends or more decide, then they are forgotten */
    bool probation;             /* came back from ejection, and has not served well for long */
    int32_t served;             /* how long */
    double out_since_s;         /* when it was ejected */
    int32_t mood;               /* how often it fails here, in 16ths */
} model_server;

typedef struct model {
    model_source *source;
    rllb_balancer_desc desc;
    rllb_server_desc first[MODEL_SERVERS];
    char names[MODEL_SERVERS][48];
    float oracle[MODEL_SERVERS];
    model_guards guards;

    void *block;                                    /* the shared one, or NULL */
    size_t block_bytes;
    void *memory[MODEL_WORKERS + 1];                /* of the handles; NULL: nobody there */
    rllb_balancer *handle[MODEL_WORKERS + 1];
    double last_s[MODEL_WORKERS + 1];               /* the time by each handle's clock */

    model_server server[MODEL_SERVERS];
    rllb_counters want;
    double clock_s;
    bool shadow, stale, panic, ticked, was_fresh;
    double ticked_s, heard_s;                       /* the last tick that worked; the last action taken */
    double fresh_s;                                 /* when a server last began to start slowly */

    rllb_server_info info[MODEL_SERVERS];           /* as they were last read */
    float ticked_weight[MODEL_SERVERS];             /* weights in force after the last tick that worked */
    bool settled;                                   /* since then no server and no setting changed */
    bool acted;                                     /* all weights in force were once within the rails */
    bool in_tick, action_right;
    double a, action_a;                             /* of the DRAW form; of the action being taken */
    int32_t controls;                               /* how often the control function was asked */
    int32_t chooses, choose_answer;                 /* what the choose function was asked and said */
    int32_t picking;                                /* the worker whose pick it is */
    uint64_t steps, ticks;
    model_call call[MODEL_CALLS];
    uint64_t calls;
    bool failed;
    char why[400];
} model;

/* ---- where decisions come from ----------------------------------------------------------------------------- */

static bool model_ended(const model *m)
{
    return m->source->bytes && m->source->at >= m->source->size;
}

static uint32_t model_byte(model *m)
{
    if (!m->source->bytes) return (uint32_t)(rllb_rng_u64(&m->source->rng) >> 56);
    return model_ended(m) ? 0 : m->source->bytes[m->source->at++];
}

/* 0 ... n - 1. */
static int32_t model_below(model *m, int32_t n)
{
    uint32_t v = model_byte(m);

    if (n > 256) v = v << 8 | model_byte(m);
    return n > 1 ? (int32_t)(v % (uint32_t)n) : 0;
}

static bool model_one_in(model *m, int32_t n)
{
    return model_below(m, n) == n - 1; /* never by the zeros that follow the end of the bytes */
}

/* ---- what goes wrong is said once -------------------------------------------------------------------------- */

#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
static void model_fail(model *m, int line, const char *format, ...)
{
    va_list args;
    int n;

    if (m->failed) return;
    m->failed = true;
    n = snprintf(m->why, sizeof m->why, "balancer_model.h:%d: ", line);
    va_start(args, format);
    vsnprintf(m->why + n, sizeof m->why - (size_t)n, format, args);
    va_end(args);
}

#define MODEL_DEMAND(m, condition) ((condition) ? (void)0 : model_fail(m, __LINE__, "%s: is false", #condition))
#define MODEL_AT(m, i, condition) \
    ((condition) ? (void)0 : model_fail(m, __LINE__, "server %d: %s: is false", (int)(i), #condition))
#define MODEL_SAME(m, i, actual, expected) \
    model_same(m, __LINE__, i, #actual, (long long)(actual), (long long)(expected))

static void model_same(model *m, int line, int32_t i, const char *what, long long actual, long long expected)
{
    if (actual != expected) {
        model_fail(m, line, "server %d: %s: is %lld, should be %lld", (int)i, what, actual, expected);
    }
}

static bool model_failed(const model *m)
{
    return m->failed;
}

static model_call *model_note(model *m, const char *name, int32_t handle, int32_t server, double x, double y)
{
    model_call *c = &m->call[m->calls++ % MODEL_CALLS];

    memset(c, 0, sizeof *c);
    c->name = name;
    c->handle = handle == MODEL_KEEPER ? -1 : handle;
    c->server = server;
    c->x = x;
    c->y = y;
    c->step = m->steps;
    return c;
}

static void model_print(const model *m, FILE *out)
{
    const rllb_balancer_desc *d = &m->desc;
    uint64_t i = m->calls > MODEL_CALLS ? m->calls - MODEL_CALLS : 0;

    fprintf(out, "step %llu: %s\n", (unsigned long long)m->steps, m->failed ? m->why : "nothing is wrong");
    fprintf(out, "policy %s, fallback %s, form %d, guards %d, capacity %d, count %d, workers %d, slots %d, ties %d\n",
            rllb_balance_name(d->policy), rllb_balance_name(d->fallback), (int)d->form, (int)m->guards,
            (int)d->capacity, (int)d->count, (int)d->workers, (int)d->slots, (int)d->ties);
    for (; i < m->calls; i++) {
        const model_call *c = &m->call[i % MODEL_CALLS];
        fprintf(out, "  step %llu: %s(worker %d, %d, key %llu, %.9g, %.17g) -> %lld\n", (unsigned long long)c->step,
                c->name, (int)c->handle, (int)c->server, (unsigned long long)c->key, c->x, c->y, c->result);
    }
}

/* ---- the model ---------------------------------------------------------------------------------------------- */

static float model_or(float value, float standard)
{
    return value < 0 || value > 0 ? value : standard;
}

static bool model_is_finite(double x)
{
    return x - x == 0;
}

/* Servers that are neither draining nor gone; of these, in that state. */
static int32_t model_count(const model *m, rllb_server_state state)
{
    int32_t i, n = 0;

    for (i = 0; i < m->desc.capacity; i++) n += m->server[i].state == state;
    return n;
}

static int32_t model_members(const model *m)
{
    return model_count(m, RLLB_SERVER_UP) + model_count(m, RLLB_SERVER_DOWN) + model_count(m, RLLB_SERVER_EJECTED);
}

static bool model_panic(const model *m)
{
    double share = (double)model_or(m->desc.guard.panic, 0.5f);
    int32_t up = model_count(m, RLLB_SERVER_UP);

    if (model_count(m, RLLB_SERVER_EJECTED) == 0) return false;
    return up == 0 || up < share * model_members(m); /* the very last are never ejected for nothing */
}

static bool model_usable(const model *m, int32_t i)
{
    return m->server[i].state == RLLB_SERVER_UP || (m->server[i].state == RLLB_SERVER_EJECTED && model_panic(m));
}

static int32_t model_usables(const model *m)
{
    int32_t i, n = 0;

    for (i = 0; i < m->desc.capacity; i++) n += model_usable(m, i);
    return n;
}

static bool model_names(const model *m, int32_t server)
{
    return server >= 0 && server < m->desc.capacity && m->server[server].state != RLLB_SERVER_NONE;
}

static int32_t model_in_flight(const model *m, int32_t i)
{
    int32_t w, n = 0;

    for (w = 0; w < m->desc.workers; w++) n += m->server[i].in_flight[w];
    return n;
}

static int32_t model_servers(const model *m)
{
    int32_t i = m->desc.capacity;

    while (i > 0 && m->server[i - 1].state == RLLB_SERVER_NONE) i--;
    return i;
}

static bool model_room(const model *m)
{
    int32_t i;

    for (i = 0; i < m->desc.capacity; i++) {
        if (m->server[i].state == RLLB_SERVER_NONE && model_in_flight(m, i) == 0) return true;
    }
    return false;
}

/* ---- what is compared --------------------------------------------------------------------------------------- */

static rllb_balancer *model_any(const model *m)
{
    int32_t h;

    for (h = MODEL_KEEPER; h >= 0; h--) {
        if (m->handle[h]) return m->handle[h];
    }
    return NULL;
}

static void model_check_server(model *m, int32_t i)
{
    const model_server *s = &m->server[i];
    rllb_server_info *info = &m->info[i];

    memset(info, 0x5a, sizeof *info);
    MODEL_SAME(m, i, rllb_balancer_server(model_any(m), i, info), RLLB_OK);
    if (m->failed) return;
    MODEL_SAME(m, i, info->state, s->state);
    MODEL_SAME(m, i, info->usable, model_usable(m, i));
    MODEL_SAME(m, i, info->in_flight, model_in_flight(m, i));
    MODEL_SAME(m, i, info->picks, s->picks);
    MODEL_SAME(m, i, info->done, s->done);
    MODEL_SAME(m, i, info->failed, s->failed);
    MODEL_SAME(m, i, info->lost, s->lost);
    MODEL_SAME(m, i, info->ejections, s->ejections);
    MODEL_SAME(m, i, info->samples, s->samples);
    MODEL_SAME(m, i, info->picks, info->done + (uint64_t)info->in_flight + info->lost);
    if (s->state == RLLB_SERVER_NONE) return;
    MODEL_AT(m, i, strcmp(info->name, s->name) == 0);
    MODEL_AT(m, i, !(info->weight < s->weight) && !(info->weight > s->weight));
    MODEL_AT(m, i, model_is_finite((double)info->weight_in_force) && info->weight_in_force >= 0);
    MODEL_AT(m, i, model_is_finite((double)info->duration_s) && info->duration_s >= 0);
    MODEL_AT(m, i, model_is_finite((double)info->unloaded_s) && info->unloaded_s >= 0);
    MODEL_AT(m, i, fabs(info->duration_sum_s - s->duration_sum_s) <= 1e-9 * (1 + s->duration_sum_s));
}

static bool model_finds_weights(const model *m)
{
    rllb_balance p = m->desc.policy;

    return p == RLLB_BALANCE_AWCMP || p == RLLB_BALANCE_HLB || p == RLLB_BALANCE_EQUALISE ||
           p == RLLB_BALANCE_LEARNED;
}

/* As of the last tick, for only that is sure to have brought what grew since into force. */
static bool model_is_fresh(const model *m)
{
    return m->ticked_s - m->fresh_s < 1.001 * (double)model_or(m->desc.guard.slow_start_s, 5);
}

/* Configured weights are in force over their mean, from a tenth to all of them while a server starts slowly. */
static void model_check_weights(model *m)
{
    bool slow = model_is_fresh(m), found = model_finds_weights(m) && !m->shadow && !m->stale;
    double mean = 0, sum = 0, want, is;
    int32_t i, usable = model_usables(m);

    for (i = 0; i < m->desc.capacity; i++) mean += model_usable(m, i) ? (double)m->server[i].weight : 0;
    mean /= usable ? usable : 1;
    for (i = 0; i < m->desc.capacity && !m->failed; i++) {
        if (!model_usable(m, i)) continue;
        want = (double)m->server[i].weight / mean;
        if (want < 1e-9) want = 1e-9; /* never nothing at all */
        is = (double)m->info[i].weight_in_force;
        MODEL_AT(m, i, is > 0);
        sum += is;
        if (found) continue;
        if (is > 1.00001 * want || is < (slow ? 0.09999 : 0.99999) * want) {
            model_fail(m, __LINE__, "server %d: weight in force %.9g, configured %.9g of the mean", (int)i, is, want);
        }
    }
    if (usable && (sum > 1.0001 * usable || sum < (slow ? 0.0999 : 0.9999) * usable)) {
        model_fail(m, __LINE__, "the mean weight in force of %d usable ones is %.9g", (int)usable, sum / usable);
    }
}

static void model_check_servers(model *m)
{
    int32_t i;

    MODEL_SAME(m, -1, rllb_balancer_servers(model_any(m)), model_servers(m));
    for (i = 0; i < m->desc.capacity && !m->failed; i++) model_check_server(m, i);
    model_check_weights(m);
}

/* Counters that the model knows are the same; the others do not fall, and not rise without reason. */
static void model_check_counters(model *m)
{
    rllb_counters is, *want = &m->want;

    memset(&is, 0x5a, sizeof is);
    rllb_balancer_counters(model_any(m), &is);
    if (is.shadow_differs >= want->shadow_differs && is.shadow_differs <= is.shadow_picks) {
        want->shadow_differs = is.shadow_differs;
    }
    if (is.controls_limited >= want->controls_limited && is.controls_limited <= is.controls + m->ticks) {
        want->controls_limited = is.controls_limited;
    }
#define MODEL_COUNTER(name, words) MODEL_SAME(m, -1, is.name, want->name);
    RLLB_COUNTER_LIST(MODEL_COUNTER)
#undef MODEL_COUNTER
}

static void model_check_all(model *m)
{
    model_check_servers(m);
    model_check_counters(m);
}

/* ---- arguments, good and bad -------------------------------------------------------------------------------- */

/* The time for a call: one in 64 is wrong. */
static double model_now(model *m)
{
    static const double wrong[] = { -1e300, -1, 1e300, 0, 0, 0, 0 };
    int32_t kind;

    if (!model_one_in(m, 64)) return m->clock_s;
    switch (kind = model_below(m, 7)) {
    case 3: return m->clock_s - 0.01;
    case 4: return (double)NAN;
    case 5: return (double)INFINITY;
    case 6: return -(double)INFINITY;
    default: return wrong[kind];
    }
}

static bool model_is_time(double now_s)
{
    return now_s > -1e12 && now_s < 1e12;
}

/* A worker's clock stands still at a wrong time; when it is set back by more than a minute, it follows. */
static void model_hear(model *m, int32_t h, double now_s)
{
    bool back = now_s < m->last_s[h];

    if (!model_is_time(now_s) || back) m->want.bad_time++;
    if (model_is_time(now_s) && (!back || now_s < m->last_s[h] - 60)) m->last_s[h] = now_s;
}

/* A handle that can pick; one in 128 the keeper, which cannot. */
static int32_t model_worker(model *m)
{
    int32_t w = model_below(m, m->desc.workers), i;

    if (m->handle[MODEL_KEEPER] && model_one_in(m, 128)) return MODEL_KEEPER;
    for (i = 0; i < m->desc.workers && !m->handle[w]; i++) w = (w + 1) % m->desc.workers;
    return w;
}

static int32_t model_handle(model *m)
{
    return m->handle[MODEL_KEEPER] && model_one_in(m, 2) ? MODEL_KEEPER : model_worker(m);
}

/* A server that is there, or any number. */
static int32_t model_index(model *m)
{
    static const int32_t wrong[] = { -1, INT32_MAX, INT32_MIN, RLLB_BALANCER_SERVERS_MAX, 128 };

    if (model_one_in(m, 32)) return wrong[model_below(m, 5)];
    return model_below(m, m->desc.capacity + (model_one_in(m, 32) ? 1 : 0));
}

static float model_weight(model *m)
{
    static const float edge[] = { 1, 1, 1e-3f, 1e3f, 1e-6f, 1e6f, 3.4e38f, 1e-45f };

    return model_one_in(m, 16) ? edge[model_below(m, 8)] : 0.25f * (float)(1 + model_below(m, 16));
}

static float model_wrong_float(model *m)
{
    static const float wrong[] = { 0, 0, 0, -1, -1e-30f, -3e38f };
    int32_t kind = model_below(m, 6);

    return kind == 0 ? NAN : kind == 1 ? INFINITY : kind == 2 ? -INFINITY : wrong[kind];
}

static uint64_t model_key(model *m)
{
    uint64_t key = (uint64_t)model_below(m, 64);

    return key < 60 ? key : key == 60 ? UINT64_MAX : key << 56 | key;
}

/* ---- what may be picked ------------------------------------------------------------------------------------- */

static double model_cost(const model *m, rllb_balance policy, int32_t i)
{
    double q = model_in_flight(m, i), w = (double)m->info[i].weight_in_force, eye = (double)m->oracle[i];

    switch (policy) {
    case RLLB_BALANCE_LSQ: return q;
    case RLLB_BALANCE_GSQ:
    case RLLB_BALANCE_SRT: return eye;
    case RLLB_BALANCE_SED_ORACLE: return (eye + 1) / w;
    case RLLB_BALANCE_NQ: return q > 0 ? 1e300 : 0;
    case RLLB_BALANCE_JIQ: return q > 0 ? 1 : 0;
    case RLLB_BALANCE_DRAW: return (q + 1) / fmin(fmax(pow(w, m->a), 1e-15), 1e15); /* of a retry */
    default: return (q + 1) / w;
    }
}

/* Nothing that was picked costs more than the least. Needs m->info as it was before. */
static void model_check_least(model *m, int32_t h, rllb_balance policy, const bool *out, int32_t server)
{
    double least = (double)INFINITY, cost = model_cost(m, policy, server);
    int32_t i;

    for (i = 0; i < m->desc.capacity; i++) {
        if (!model_usable(m, i)) continue;
        if (policy == RLLB_BALANCE_NQ && m->info[i].weight_in_force < 1e-8f) return; /* slower than busy */
        if (out[i] || m->server[i].over[h]) continue;
        if (model_cost(m, policy, i) < least) least = model_cost(m, policy, i);
    }
    /* Found weights that are close to the configured ones are compared as if they were nearer, by 12 % at most. */
    if (m->desc.policy == RLLB_BALANCE_LEARNED && m->desc.features == RLLB_FEATURES_RELATIVE) {
        least *= exp(2 * 0.12 * (policy == RLLB_BALANCE_DRAW ? fmax(m->a, 1) : 1));
    }
    if (!(cost <= least + 4e-6 * fabs(least))) {
        model_fail(m, __LINE__, "server %d picked at cost %.9g where the least is %.9g (%s)", (int)server, cost, least,
                   rllb_balance_name(policy));
    }
}

/* Policies in the DRAW form. */
static bool model_draws(const model *m, rllb_balance policy)
{
    rllb_form form = m->desc.form;

    switch (policy) {
    case RLLB_BALANCE_DRAW: return true;
    case RLLB_BALANCE_HLB:
    case RLLB_BALANCE_LEARNED: return form == RLLB_FORM_DRAW;
    case RLLB_BALANCE_EQUALISE: return form != RLLB_FORM_SED;
    default: return false;
    }
}

static bool model_is_compared(const model *m, rllb_balance policy)
{
    int32_t i;

    switch (policy) {
    case RLLB_BALANCE_SED:
    case RLLB_BALANCE_NQ:
    case RLLB_BALANCE_JIQ: return true;
    case RLLB_BALANCE_LSQ: return m->desc.guard.slow_start_s < 0; /* one that starts slowly counts as busier */
    case RLLB_BALANCE_HLB:
    case RLLB_BALANCE_LEARNED:
    case RLLB_BALANCE_EQUALISE: return !model_draws(m, policy);
    case RLLB_BALANCE_GSQ:
    case RLLB_BALANCE_SRT:
    case RLLB_BALANCE_SED_ORACLE:
        for (i = 0; i < m->desc.capacity; i++) {
            if (!(m->oracle[i] >= 0 && m->oracle[i] < 1e6f)) return false;
        }
        return true;
    default: return false;
    }
}

/* ---- worker's calls ----------------------------------------------------------------------------------------- */

/* Of the policies' own functions: sees what it should, answers what it likes. */
static int32_t model_choose(void *self, const float *observation, int32_t observations)
{
    model *m = (model *)self;
    int32_t i;

    m->chooses++;
    MODEL_SAME(m, -1, observations, model_servers(m));
    for (i = 0; i < observations && !m->failed; i++) {
        MODEL_AT(m, i, observation[i] > 0);
        MODEL_AT(m, i, model_usable(m, i) || !model_is_finite((double)observation[i]));
        if (model_usable(m, i) && !m->server[i].over[m->picking] && m->server[i].weight > 1e-6f) {
            MODEL_AT(m, i, model_is_finite((double)observation[i]));
        }
    }
    m->choose_answer = model_one_in(m, 8) ? model_index(m) : model_below(m, observations);
    if (m->choose_answer < 0 || m->choose_answer >= observations ||
        !model_is_finite((double)observation[m->choose_answer])) {
        m->want.choose_refused++;
    }
    return m->choose_answer;
}

static bool model_is_range(const model *m, int32_t server)
{
    return server >= 0 && server < m->desc.capacity;
}

/* A request to a server that is ejected: alone there, and not before its time. */
static bool model_may_try(const model *m, int32_t i)
{
    double first_s = (double)model_or(m->desc.guard.eject_s, 1);
    double last_s = (double)model_or(m->desc.guard.eject_longest_s, 4);

    if (last_s >= 0 && last_s < first_s) first_s = last_s;
    return m->server[i].state == RLLB_SERVER_EJECTED && model_in_flight(m, i) == 0 &&
           m->clock_s - m->server[i].out_since_s >= 0.999 * first_s;
}

static void model_took(model *m, int32_t h, int32_t server, bool probe)
{
    if (!model_is_range(m, server) || !(model_usable(m, server) || (probe && model_may_try(m, server)))) {
        model_fail(m, __LINE__, "picked %d, which is not usable, probe %d", (int)server, (int)probe);
        return;
    }
    m->server[server].in_flight[h]++;
    m->server[server].picks++;
    model_check_server(m, server);
}

/* Whether the last pick was sent there to find out how the server is: the model does not foretell when. */
static bool model_was_probe(model *m, int32_t server)
{
    rllb_counters is;

    rllb_balancer_counters(model_any(m), &is);
    if (is.probes != m->want.probes + 1) return false;
    m->want.probes++;
    return model_or(m->desc.guard.minimum_share, 0.01f) > 0 || !model_usable(m, server);
}

static rllb_balance model_policy(const model *m)
{
    return m->shadow || (m->desc.policy == RLLB_BALANCE_LEARNED && m->stale) ? m->desc.fallback : m->desc.policy;
}

/* No server above (1 + bound) times its share of what is in flight, rounded up. */
static void model_check_bound(model *m, int32_t h, int32_t server)
{
    double sum = 0, all = 0, bound;
    int32_t i;

    for (i = 0; i < m->desc.capacity; i++) {
        all += model_in_flight(m, i);
        if (!model_usable(m, i)) continue;
        sum += (double)m->info[i].weight_in_force;
        if (m->server[i].over[h] || m->info[i].weight_in_force < 1e-3f) return;
    }
    bound = 1.25 * (all + 1) * (double)m->info[server].weight_in_force / sum;
    if (model_in_flight(m, server) + 1 > ceil(bound * 1.00001)) {
        model_fail(m, __LINE__, "server %d has %d in flight, bound %.9g", (int)server,
                   (int)model_in_flight(m, server), bound);
    }
}

/* What can be said of a pick before it is booked; needs m->info as it was before. */
static void model_check_pick(model *m, int32_t h, int32_t server)
{
    static const bool none[MODEL_SERVERS] = { false };
    rllb_balance policy = model_policy(m);

    if (!model_is_range(m, server) || !model_usable(m, server)) return; /* said elsewhere */
    if (model_is_compared(m, policy)) model_check_least(m, h, policy, none, server);
    if (policy == RLLB_BALANCE_MAGLEV_BOUNDED) model_check_bound(m, h, server);
}

/* Returns the server, or -1 where the rule of the policy was not asked. */
static int32_t model_pick_once(model *m, int32_t h, uint64_t key, bool look)
{
    double now_s = model_now(m);
    model_call *c = model_note(m, "pick", h, 0, 0, now_s);
    int32_t server, asked = m->chooses, usable = model_usables(m);

    c->key = key;
    m->picking = h;
    if (look) model_check_servers(m);
    server = rllb_balancer_pick(m->handle[h], key, now_s);
    c->result = server;
    if (h == MODEL_KEEPER) {
        MODEL_SAME(m, -1, server, -1);
        return -1;
    }
    model_hear(m, h, now_s);
    m->want.shadow_picks += m->shadow;
    if (usable == 0) {
        MODEL_SAME(m, -1, server, -1);
        m->want.no_server++;
        return -1;
    }
    if (!model_is_range(m, server)) {
        model_fail(m, __LINE__, "%d picked, though %d are usable", (int)server, (int)usable);
    }
    if (m->failed) return -1;
    if (model_was_probe(m, server)) {
        model_took(m, h, server, true);
        return -1;
    }
    if (look) model_check_pick(m, h, server);
    if (!m->shadow && asked < m->chooses && model_is_range(m, m->choose_answer) &&
        model_usable(m, m->choose_answer) && !m->server[m->choose_answer].over[h]) {
        MODEL_SAME(m, -1, server, m->choose_answer);
    }
    if (!m->failed) model_took(m, h, server, false);
    return server;
}

static bool model_by_key(rllb_balance p)
{
    return p == RLLB_BALANCE_ECMP || p == RLLB_BALANCE_WCMP || p == RLLB_BALANCE_AWCMP || p == RLLB_BALANCE_MAGLEV;
}

static void model_pick(model *m)
{
    int32_t h = model_worker(m), first, second, i;
    uint64_t key = model_key(m);
    bool whole = true;

    first = model_pick_once(m, h, key, model_one_in(m, 8));
    if (m->failed || h == MODEL_KEEPER || !model_one_in(m, 16)) return;
    second = model_pick_once(m, h, key, false); /* a flow keeps its server */
    for (i = 0; i < m->desc.capacity; i++) whole = whole && !m->server[i].over[h];
    if (first >= 0 && second >= 0 && key && whole && model_by_key(model_policy(m))) {
        MODEL_SAME(m, -1, second, first);
    }
}

static void model_pick_other(model *m)
{
    int32_t h = model_worker(m), tried[6], count = model_below(m, 7), i, left = 0, server;
    bool out[MODEL_SERVERS] = { false };
    double now_s = model_now(m);
    bool draw = model_draws(m, model_policy(m));
    model_call *c;

    for (i = 0; i < count; i++) {
        tried[i] = model_index(m);
        if (model_is_range(m, tried[i])) out[tried[i]] = true;
    }
    for (i = 0; i < m->desc.capacity; i++) {
        left += model_usable(m, i) && !out[i] && (h == MODEL_KEEPER || !m->server[i].over[h]);
    }
    model_check_servers(m);
    c = model_note(m, "pick_other", h, count, 0, now_s);
    server = rllb_balancer_pick_other(m->handle[h], count || model_one_in(m, 2) ? tried : NULL, count, now_s);
    c->result = server;
    if (h == MODEL_KEEPER) {
        MODEL_SAME(m, -1, server, -1);
        return;
    }
    model_hear(m, h, now_s);
    if (left > 0 && server < 0) model_fail(m, __LINE__, "no other server picked, though %d are left", (int)left);
    if (m->failed) return;
    if (server < 0) {
        m->want.no_server++;
        return;
    }
    if (model_is_range(m, server) && model_usable(m, server)) {
        MODEL_AT(m, server, !out[server]);
        if (!draw) model_check_least(m, h, RLLB_BALANCE_SED, out, server);
        else if (!model_is_fresh(m)) model_check_least(m, h, RLLB_BALANCE_DRAW, out, server);
    }
    model_took(m, h, server, false);
}

/* ---- the ends of requests, and who is ejected for them ---- */

static float model_failure_s(const model *m)
{
    float s = model_or(m->desc.guard.failure_s, 1);

    return s > 0 ? s : 0;
}

/* How many may be out at once: no more than the share, but always one of two or more. */
static int32_t model_most_ejected(const model *m)
{
    double share = (double)model_or(m->desc.guard.eject_share, 0.5f);
    int32_t members = model_members(m), most = (int32_t)((share < 0 ? 1 : share) * members);

    return most < 1 && members > 1 ? 1 : most;
}

/* Is there reason to eject, by what ended since the last tick? */
static bool model_is_bad(const model *m, const model_server *s)
{
    double most = (double)model_or(m->desc.guard.eject_failures, 5);
    double rate = (double)model_or(m->desc.guard.eject_rate, 0.5f);
    int32_t w, row = 0;

    for (w = 0; w < m->desc.workers; w++) row = s->row[w] > row ? s->row[w] : row;
    if (s->fails == 0) return false;
    return (most > 0 && (row >= most || s->probation)) ||
           (rate > 0 && s->recent >= 10 && s->recent_fails >= rate * s->recent);
}

/* A server at which this worker has something in flight, or -1. */
static int32_t model_busy(model *m, int32_t h)
{
    int32_t at = model_below(m, m->desc.capacity), i;

    for (i = 0; i < m->desc.capacity; i++) {
        int32_t s = (at + i) % m->desc.capacity;
        if (h != MODEL_KEEPER && m->server[s].in_flight[h] > 0) return s;
    }
    return -1;
}

static double model_duration(model *m)
{
    static const double edge[] = { 0, 1e-9, 100, 1e6 };

    return model_one_in(m, 64) ? edge[model_below(m, 4)] : 0.002 * (1 + model_below(m, 256));
}

static rllb_outcome model_outcome(model *m, int32_t i)
{
    if (model_below(m, 16) >= 16 - m->server[i].mood) return RLLB_OUTCOME_FAILED;
    if (model_one_in(m, 256)) return (rllb_outcome)3; /* there is none such */
    return model_one_in(m, 16) ? RLLB_OUTCOME_CANCELLED : RLLB_OUTCOME_OK;
}

/* What one request's end does. Returns whether its times are right. */
static bool model_ended_here(model *m, int32_t h, int32_t i, rllb_outcome outcome, double elapsed_s)
{
    model_server *s = &m->server[i];
    float most = model_or(m->desc.guard.eject_failures, 5);

    s->in_flight[h]--;
    s->done++;
    s->ends++;
    if (outcome == RLLB_OUTCOME_CANCELLED) return true;
    if (outcome != RLLB_OUTCOME_OK && outcome != RLLB_OUTCOME_FAILED) return false;
    if (outcome == RLLB_OUTCOME_OK) s->row[h] = 0;
    else {
        s->fails++;
        s->failed++;
        s->row[h]++;
        if (most > 0 && (float)s->row[h] >= most) s->over[h] = true;
    }
    if (!(elapsed_s >= 0 && elapsed_s < 1e12)) return false;
    if (outcome == RLLB_OUTCOME_FAILED && elapsed_s < (double)model_failure_s(m)) {
        elapsed_s = (double)model_failure_s(m);
    }
    s->duration_sum_s += (double)(float)elapsed_s;
    s->samples++;
    s->taken++;
    return true;
}

static void model_done(model *m)
{
    int32_t h = model_worker(m), server = model_one_in(m, 24) ? model_index(m) : model_busy(m, h);
    bool right = true, in_range = model_is_range(m, server);
    rllb_outcome outcome = in_range ? model_outcome(m, server) : RLLB_OUTCOME_OK;
    double now_s = model_now(m), started_s = now_s - model_duration(m);
    rllb_status status;
    model_call *c;

    if (model_one_in(m, 48)) started_s = model_one_in(m, 2) ? (double)NAN : now_s + 1;
    c = model_note(m, "done", h, server, (double)outcome, now_s);
    status = rllb_balancer_done(m->handle[h], server, started_s, now_s, outcome);
    c->result = status;
    if (h == MODEL_KEEPER) right = false;
    else if (!in_range) {
        m->want.bad_server++;
        right = false;
    } else if (m->server[server].in_flight[h] == 0) {
        m->want.stray_done++;
        right = false;
    } else {
        uint64_t bad_before = m->want.bad_time;
        model_hear(m, h, now_s);
        right = model_ended_here(m, h, server, outcome, now_s - started_s);
        if (!right && outcome <= RLLB_OUTCOME_FAILED && m->want.bad_time == bad_before) m->want.bad_time++;
    }
    MODEL_SAME(m, server, status == RLLB_OK, right);
    if (in_range) model_check_server(m, server);
}

static void model_sample(model *m)
{
    int32_t h = model_worker(m), server = model_one_in(m, 8) ? model_index(m) : model_busy(m, h);
    double elapsed_s = model_one_in(m, 24) ? (double)model_wrong_float(m) : model_duration(m), now_s = model_now(m);
    bool right = h != MODEL_KEEPER && model_is_range(m, server);
    rllb_status status;

    model_note(m, "sample", h, server, elapsed_s, now_s);
    status = rllb_balancer_sample(m->handle[h], server, elapsed_s, now_s);
    if (h != MODEL_KEEPER && !right) m->want.bad_server++;
    if (right && (!model_is_finite(now_s) || !(elapsed_s >= 0 && elapsed_s < 1e12))) {
        m->want.bad_time++;
        right = false;
    } else if (right && m->server[server].in_flight[h] == 0) {
        m->want.stray_done++;
        right = false;
    } else if (right) model_hear(m, h, now_s);
    MODEL_SAME(m, server, status == RLLB_OK, right);
}

static float model_told(model *m, float unit)
{
    static const float edge[] = { 0, 1e-38f, 1e13f, 3e38f };

    if (model_one_in(m, 2)) return NAN; /* not said */
    if (model_one_in(m, 32)) return edge[model_below(m, 4)];
    return model_one_in(m, 32) ? model_wrong_float(m) : unit * (float)model_below(m, 100);
}

static void model_report(model *m)
{
    int32_t h = model_worker(m), server = model_index(m);
    bool there = !model_one_in(m, 128), right = h != MODEL_KEEPER && model_is_range(m, server);
    double now_s = model_now(m);
    rllb_report report;
    rllb_status status;

    report.in_flight = model_told(m, 0.25f);
    report.latency_s = model_told(m, 0.01f);
    report.utilisation = model_told(m, 0.01f);
    model_note(m, "report", h, server, (double)report.in_flight, now_s);
    status = rllb_balancer_report(m->handle[h], server, there ? &report : NULL, now_s);
    if (h != MODEL_KEEPER && !right) m->want.bad_server++;
    right = right && there && !(report.in_flight < 0 || report.latency_s < 0 || report.utilisation < 0);
    if (right) model_hear(m, h, now_s);
    MODEL_SAME(m, server, status == RLLB_OK, right);
}

static void model_probe(model *m)
{
    int32_t h = model_worker(m), most = model_below(m, 8) - 1, room = most > 0 ? most : 1, n, i, j;
    int32_t *servers = (int32_t *)malloc((size_t)room * sizeof *servers), usable = model_usables(m);

    if (!servers) return;
    model_note(m, "probe", h, most, 0, 0);
    n = rllb_balancer_probe(m->handle[h], servers, most);
    if (h == MODEL_KEEPER || most < 0) usable = 0;
    if (usable && most < usable) usable = most;
    if (m->desc.policy == RLLB_BALANCE_PREQUAL || usable == 0) MODEL_SAME(m, -1, n, usable);
    else MODEL_AT(m, n, n >= 0 && n <= usable);
    for (i = 0; i < n && !m->failed; i++) {
        MODEL_AT(m, servers[i], servers[i] >= 0 && servers[i] < m->desc.capacity && model_usable(m, servers[i]));
        for (j = 0; j < i; j++) MODEL_AT(m, servers[i], servers[i] != servers[j]);
    }
    free(servers);
}

/* ---- keeper's calls ----------------------------------------------------------------------------------------- */

/* A keeper's time is that of the last tick where it is none, or earlier. */
static double model_keeper_hears(model *m, double now_s)
{
    if (model_is_time(now_s) && !(m->ticked && now_s < m->ticked_s)) return now_s;
    m->want.bad_time++;
    return m->ticked ? m->ticked_s : 0;
}

/* Weights and what else an action has; says whether they are to be taken. */
static bool model_draw_action(model *m, float *action, int32_t actions)
{
    int32_t i, servers = model_servers(m);
    bool right = true, zero = model_one_in(m, 64);
    float sum = 0;

    for (i = 0; i < actions; i++) {
        action[i] = zero ? 0 : i < servers ? model_weight(m) : model_one_in(m, 16) ? 16
                               : 0.25f * (float)(4 + model_below(m, 16));
        if (i < servers && model_one_in(m, 32)) action[i] = 0;
    }
    if (actions > 0 && model_one_in(m, 12)) action[model_below(m, actions)] = model_wrong_float(m);
    for (i = 0; i < servers && i < actions; i++) {
        right = right && model_is_finite((double)action[i]) && action[i] >= 0;
        if (m->server[i].state != RLLB_SERVER_NONE && action[i] > 0) sum = 1;
    }
    for (; i < actions; i++) { /* d, a, gamma */
        right = right && action[i] >= (i == servers ? 1 : 0) && action[i] <= (i == servers ? 64 : 16);
    }
    m->action_a = m->desc.control_form && actions > servers + 1 ? (double)action[servers + 1] : m->a;
    return right && sum > 0 && actions == servers + (m->desc.control_form ? 3 : 0);
}

static void model_check_observation(model *m, const float *observation, int32_t observations)
{
    int32_t i, servers = model_servers(m);

    switch (m->desc.features) {
    case RLLB_FEATURES_CIKM: MODEL_SAME(m, -1, observations, 6 * servers); break;
    case RLLB_FEATURES_NEURIPS: MODEL_SAME(m, -1, observations, 16 + 11 * servers); break;
    case RLLB_FEATURES_RELATIVE: MODEL_SAME(m, -1, observations, 6 + 9 * servers); break;
    default: MODEL_SAME(m, -1, observations, 8 * servers); break;
    }
    for (i = 0; i < observations && !m->failed; i++) MODEL_AT(m, i, model_is_finite((double)observation[i]));
}

static void model_control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    model *m = (model *)self;

    m->controls++;
    MODEL_DEMAND(m, m->in_tick);
    model_check_observation(m, observation, observations);
    MODEL_SAME(m, -1, actions, model_servers(m) + (m->desc.control_form ? 3 : 0));
    m->action_right = model_draw_action(m, action, actions);
}

static bool model_has_reservoirs(const model *m)
{
    rllb_balance p = m->desc.policy;

    return m->desc.slots > 0 ||
           p == RLLB_BALANCE_HLB || p == RLLB_BALANCE_EQUALISE || p == RLLB_BALANCE_LEARNED;
}

static void model_eject(model *m, model_server *s, double now_s)
{
    s->state = RLLB_SERVER_EJECTED;
    s->ejections++;
    s->probation = false;
    s->out_since_s = now_s;
    m->want.ejections++;
    m->settled = false;
}

/* Out for a time between the first and the longest; then a request that goes well calls it back, one that fails sends
   it out again. `again`: that is what happened. */
static void model_follow_out(model *m, int32_t i, double now_s, bool again, bool back)
{
    model_server *s = &m->server[i];
    double first_s = (double)model_or(m->desc.guard.eject_s, 1), away_s = now_s - s->out_since_s;
    double last_s = (double)model_or(m->desc.guard.eject_longest_s, 4);

    if (first_s < 0) first_s = 0;
    if (last_s < 0) last_s = 1e300;
    if (first_s > last_s) first_s = last_s;
    MODEL_AT(m, i, away_s >= 0.999 * first_s || (!again && !back));
    MODEL_AT(m, i, away_s < 1.001 * last_s || again == (s->fails > 0));
    MODEL_AT(m, i, away_s < 1.001 * last_s || back == (s->fails == 0 && s->taken > 0));
    MODEL_AT(m, i, !back || (s->fails == 0 && s->taken > 0));
    MODEL_AT(m, i, !again || s->fails > 0);
    if (again) model_eject(m, s, now_s);
    if (!back) return;
    s->state = RLLB_SERVER_UP;
    s->probation = true;
    s->served = 0;
    m->settled = false;
    m->fresh_s = now_s;
}

/* One that was up: ejected if it was bad and there was room. */
static void model_follow_up(model *m, int32_t i, double now_s, bool ejected, bool room)
{
    model_server *s = &m->server[i];
    bool bad;

    s->recent += s->ends;
    s->recent_fails += s->fails;
    bad = model_is_bad(m, s);
    if (s->recent >= 10) s->recent = s->recent_fails = 0;
    MODEL_AT(m, i, !ejected || bad);
    if (ejected) model_eject(m, s, now_s);
    else if (bad) {
        MODEL_AT(m, i, !room);
        m->want.ejections_spared++;
        m->settled = false;
        m->fresh_s = now_s;
    }
    if (s->probation && s->ends > s->fails) s->served += s->ends - s->fails;
    if ((float)s->served >= model_or(m->desc.guard.eject_failures, 5)) s->probation = false;
}

/* Servers come back, and are ejected by what ended since: the tick does both. */
static void model_follow_tick(model *m, double now_s)
{
    int32_t i, before = model_count(m, RLLB_SERVER_EJECTED), after = 0, back = 0, most = model_most_ejected(m);
    rllb_server_info info[MODEL_SERVERS];

    for (i = 0; i < m->desc.capacity && !m->failed; i++) {
        MODEL_SAME(m, i, rllb_balancer_server(model_any(m), i, &info[i]), RLLB_OK);
        after += info[i].state == RLLB_SERVER_EJECTED;
        back += m->server[i].state == RLLB_SERVER_EJECTED && info[i].state == RLLB_SERVER_UP;
    }
    MODEL_AT(m, after, after <= most || after <= before);
    for (i = 0; i < m->desc.capacity && !m->failed; i++) {
        model_server *s = &m->server[i];
        bool out = info[i].state == RLLB_SERVER_EJECTED;
        if (s->state == RLLB_SERVER_EJECTED) model_follow_out(m, i, now_s, info[i].ejections > s->ejections, !out);
        else if (s->state == RLLB_SERVER_UP) model_follow_up(m, i, now_s, out, after + back < most);
        s->ends = s->fails = s->taken = 0;
        memset(s->over, 0, sizeof s->over);
    }
}

static void model_heard(model *m, bool right, double now_s)
{
    if (right) {
        m->want.controls++;
        m->a = m->action_a;
        m->settled = m->settled && !m->stale && m->acted;
        m->acted = true;
        m->heard_s = now_s;
        m->stale = false;
    } else m->want.controls_refused++;
}

/* Greatest over least of the usable ones: weights configured, in force, or how these changed since the last tick. */
static double model_spread(const model *m, bool configured, bool change)
{
    double least = (double)INFINITY, greatest = 0, v;
    int32_t i;

    for (i = 0; i < m->desc.capacity; i++) {
        if (!model_usable(m, i)) continue;
        v = (double)(configured ? m->server[i].weight : m->info[i].weight_in_force);
        if (change) v /= (double)m->ticked_weight[i];
        if (v < least) least = v;
        if (v > greatest) greatest = v;
    }
    return greatest > 0 ? greatest / least : 1;
}

/* Weights that are found keep between floor and ceiling, or between the configured ones with which they are blended;
   from one interval to the next none moves by more than the rate. */
static void model_check_rails(model *m)
{
    const rllb_guard *g = &m->desc.guard;
    double low = (double)model_or(g->floor, 0.01f), high = (double)model_or(g->ceiling, 100);
    double rate = (double)model_or(g->rate, 4), slow = model_is_fresh(m) || m->was_fresh ? 10 : 1;
    double spread, configured;
    int32_t i;

    spread = model_spread(m, false, false);
    configured = model_spread(m, true, false);
    if (configured < high / low) configured = high / low;
    if (m->acted && low > 0 && high > 0 && spread > 1.001 * slow * configured) {
        model_fail(m, __LINE__, "the greatest weight in force is %.9g times the least, floor %g, ceiling %g", spread,
                   low, high);
    }
    spread = model_spread(m, false, true);
    if (rate > 0 && m->settled && slow < 2 && (m->acted || (low < 0 && high < 0)) && spread > 1.001 * rate * rate) {
        model_fail(m, __LINE__, "one weight in force moved by %.9g times as much as another, rate %g", spread, rate);
    }
    m->settled = true;
    m->was_fresh = model_is_fresh(m);
    for (i = 0; i < m->desc.capacity; i++) m->ticked_weight[i] = m->info[i].weight_in_force;
}

/* Whether a tick at this time works; a clock that was set back by more than a minute is followed. */
static bool model_is_due(model *m, double now_s)
{
    double interval_s = (double)model_or(m->desc.interval_s, 0.25f);
    bool back = m->ticked && now_s < m->ticked_s;

    if (!model_is_time(now_s) || back) m->want.bad_time++;
    if (!model_is_time(now_s)) return false;
    if (back && now_s < m->ticked_s - 60) m->ticked_s = m->heard_s = now_s;
    return !m->ticked || (!back && now_s - m->ticked_s >= interval_s - 1e-9);
}

static void model_tick(model *m)
{
    int32_t h = model_handle(m), asked = m->controls;
    double now_s = model_now(m), deadline_s = (double)model_or(m->desc.guard.deadline_s, 5);
    model_call *c = model_note(m, "tick", h, 0, m->ticked_s, now_s);
    bool due = model_is_due(m, now_s), worked;

    m->in_tick = true;
    worked = rllb_balancer_tick(m->handle[h], now_s);
    m->in_tick = false;
    c->result = worked;
    MODEL_SAME(m, -1, worked, due);
    MODEL_SAME(m, -1, m->controls - asked, worked && m->desc.policy == RLLB_BALANCE_LEARNED && m->desc.control &&
                                           model_servers(m) > 0);
    if (!worked || m->failed) return;
    if (!m->ticked) m->heard_s = now_s;
    m->ticked = true;
    m->ticked_s = now_s;
    m->ticks++;
    if (m->controls > asked) model_heard(m, m->action_right, now_s);
    if (m->desc.policy == RLLB_BALANCE_LEARNED && deadline_s > 0 && !m->stale && now_s - m->heard_s > deadline_s) {
        m->stale = true;
        m->settled = false;
        m->want.fallbacks++;
    }
    model_follow_tick(m, now_s);
    model_check_servers(m);
    if (model_finds_weights(m) && !m->failed) model_check_rails(m);
}

static void model_observe(model *m)
{
    int32_t h = model_handle(m), observations = -77;
    const float *observation;
    rllb_balancer *both[2];
    double reward, shared;

    model_note(m, "observe", h, 0, 0, 0);
    observation = rllb_balancer_observe(m->handle[h], &observations);
    MODEL_SAME(m, -1, observation != NULL, model_has_reservoirs(m));
    if (observation) model_check_observation(m, observation, observations);
    reward = rllb_balancer_reward(m->handle[h]);
    MODEL_DEMAND(m, model_is_finite(reward) || isnan(reward));
    if (!observation) MODEL_DEMAND(m, isnan(reward));
    both[0] = m->handle[h];
    both[1] = model_any(m);
    shared = rllb_balancer_reward_shared(both, 1 + model_below(m, 2), model_one_in(m, 2));
    MODEL_DEMAND(m, model_is_finite(shared) || isnan(shared));
    MODEL_DEMAND(m, !isnan(reward) || isnan(shared));
}

static void model_act(model *m)
{
    int32_t h = model_handle(m), actions = model_servers(m) + (m->desc.control_form ? 3 : 0);
    float *action;
    rllb_status status;
    double now_s = model_now(m);
    bool right;

    if (model_one_in(m, 12)) actions = model_below(m, m->desc.capacity + 6) - 1;
    action = (float *)malloc(((size_t)(actions > 0 ? actions : 0) + 1) * sizeof *action);
    if (!action) abort();
    right = model_draw_action(m, action, actions);
    model_note(m, "act", h, actions, (double)right, now_s);
    if (model_one_in(m, 32)) {
        right = false;
        status = rllb_balancer_act(m->handle[h], NULL, actions, now_s);
    } else {
        status = rllb_balancer_act(m->handle[h], action, actions, now_s);
    }
    free(action);
    if (m->desc.policy != RLLB_BALANCE_LEARNED) right = false;
    else if (!model_is_time(now_s)) {
        m->want.bad_time++;
        right = false;
    } else model_heard(m, right, model_keeper_hears(m, now_s));
    if (m->desc.control) m->settled = false; /* both move the weights */
    MODEL_SAME(m, -1, status == RLLB_OK, right);
    model_check_servers(m);
}

/* ---- servers come and go ---- */

static void model_name(char *out, const char *name, int32_t index)
{
    if (name) {
        strncpy(out, name, RLLB_BALANCER_NAME_MAX - 1);
        out[RLLB_BALANCER_NAME_MAX - 1] = 0;
    } else snprintf(out, RLLB_BALANCER_NAME_MAX, "%d", (int)index);
}

/* A server begins; what was counted at its index goes on. */
static void model_begin(model *m, int32_t i, const char *name, float weight)
{
    model_server *s = &m->server[i];

    s->state = RLLB_SERVER_UP;
    s->weight = weight;
    s->ejections = 0;
    s->ends = s->fails = s->taken = s->recent = s->recent_fails = s->served = 0;
    s->probation = false;
    memset(s->row, 0, sizeof s->row);
    m->fresh_s = m->clock_s;
    model_name(s->name, name, i);
    m->settled = m->acted = false;
}

static void model_add(model *m)
{
    static const char *const names[] = { NULL, "a", "b", "c", "d", "", "a name that is much longer than what fits in",
                                         "\"\\\n,= \x7f\xff" };
    int32_t h = model_handle(m), index = -7;
    bool wrong = model_one_in(m, 12);
    double now_s = model_now(m);
    rllb_server_desc d;
    rllb_status status;

    d.name = names[model_below(m, 8)];
    d.weight = wrong ? model_wrong_float(m) : model_weight(m);
    model_note(m, "add", h, 0, (double)d.weight, now_s);
    status = rllb_balancer_add(m->handle[h], &d, now_s, &index);
    MODEL_SAME(m, -1, status, wrong ? RLLB_ERROR_ARGUMENT : model_room(m) ? RLLB_OK : RLLB_ERROR_LIMIT);
    if (status != RLLB_OK || m->failed) {
        MODEL_SAME(m, -1, index, -7);
        return;
    }
    model_keeper_hears(m, now_s);
    if (!model_is_range(m, index) || m->server[index].state != RLLB_SERVER_NONE || model_in_flight(m, index)) {
        model_fail(m, __LINE__, "added at %d, which is not free", (int)index);
        return;
    }
    model_begin(m, index, d.name, d.weight);
    model_check_servers(m);
}

static void model_remove(model *m)
{
    int32_t h = model_handle(m), server = model_index(m);
    double now_s = model_now(m);
    rllb_status status;

    if (model_members(m) < 2 && !model_one_in(m, 8)) return;
    model_note(m, "remove", h, server, 0, now_s);
    status = rllb_balancer_remove(m->handle[h], server, now_s);
    MODEL_SAME(m, server, status == RLLB_OK, model_names(m, server));
    if (model_names(m, server)) {
        model_keeper_hears(m, now_s);
        m->server[server].state = RLLB_SERVER_NONE;
        m->settled = false;
    } else m->want.bad_server++;
    model_check_servers(m);
}

static void model_set_state(model *m)
{
    static const rllb_server_state wrong[] = { RLLB_SERVER_NONE, RLLB_SERVER_EJECTED, RLLB_SERVER_STATE_NUM };
    int32_t h = model_handle(m), server = model_index(m), draw = model_below(m, 8);
    rllb_server_state state = draw < 4 ? RLLB_SERVER_UP : draw < 6 ? RLLB_SERVER_DRAINING : RLLB_SERVER_DOWN;
    bool right = !model_one_in(m, 16);
    double now_s = model_now(m);
    rllb_status status;

    if (!right) state = wrong[model_below(m, 3)];
    model_note(m, "set_state", h, server, (double)state, now_s);
    status = rllb_balancer_set_state(m->handle[h], server, state, now_s);
    if (!model_names(m, server)) m->want.bad_server++;
    right = right && model_names(m, server);
    MODEL_SAME(m, server, status == RLLB_OK, right);
    if (right) {
        model_keeper_hears(m, now_s);
        if (m->server[server].state != RLLB_SERVER_EJECTED || state != RLLB_SERVER_UP) { /* the guard's to decide */
            m->server[server].state = state;
            if (state == RLLB_SERVER_UP) m->fresh_s = m->clock_s;
        }
        m->settled = false;
    }
    model_check_servers(m);
}

static void model_set_weight(model *m)
{
    int32_t h = model_handle(m), server = model_index(m);
    bool right = !model_one_in(m, 8);
    float weight = right ? model_weight(m) : model_wrong_float(m);
    double now_s = model_now(m);
    rllb_status status;

    model_note(m, "set_weight", h, server, (double)weight, now_s);
    status = rllb_balancer_set_weight(m->handle[h], server, weight, now_s);
    if (!model_names(m, server)) m->want.bad_server++;
    right = right && model_names(m, server);
    MODEL_SAME(m, server, status == RLLB_OK, right);
    if (right) {
        model_keeper_hears(m, now_s);
        m->server[server].weight = weight;
        m->settled = m->acted = false; /* holds until an action sets another */
    }
    model_check_servers(m);
}

static void model_set_trust(model *m)
{
    int32_t h = model_handle(m);
    bool shadow = model_one_in(m, 3), right = !model_one_in(m, 8);
    float blend = right ? 0.25f * (float)model_below(m, 5) : model_wrong_float(m);
    double now_s = model_now(m);
    rllb_status status;

    model_note(m, "set_trust", h, shadow, (double)blend, now_s);
    status = rllb_balancer_set_trust(m->handle[h], shadow, blend, now_s);
    MODEL_SAME(m, -1, status == RLLB_OK, right);
    if (right) {
        model_keeper_hears(m, now_s);
        m->shadow = shadow;
        m->settled = false;
    }
    model_check_servers(m);
}

/* ---- workers come and go, the block moves ---- */

static void model_join(model *m, int32_t h)
{
    rllb_balancer_desc d = m->desc;
    size_t size, skew = (size_t)model_below(m, 64);

    d.worker = h == MODEL_KEEPER ? -1 : h;
    d.shared = m->block;
    d.shared_size = m->block_bytes;
    size = rllb_balancer_size(&d);
    m->memory[h] = malloc(size + skew);
    if (!m->memory[h]) abort();
    model_note(m, d.join ? "join" : "init", h, 0, 0, 0);
    MODEL_SAME(m, -1, rllb_balancer_init(&d, (char *)m->memory[h] + skew, size, &m->handle[h]), RLLB_OK);
    m->last_s[h] = -(double)INFINITY;
}

/* Dies without a word. */
static void model_kill(model *m, int32_t h)
{
    model_note(m, "kill", h, 0, 0, 0);
    free(m->memory[h]);
    m->memory[h] = NULL;
    m->handle[h] = NULL;
}

static void model_lose(model *m, int32_t w)
{
    int32_t i;

    for (i = 0; i < m->desc.capacity; i++) {
        model_server *s = &m->server[i];
        s->lost += (uint64_t)s->in_flight[w];
        m->want.lost += (uint64_t)s->in_flight[w];
        s->in_flight[w] = 0;
    }
}

static int32_t model_living(const model *m)
{
    int32_t w, n = 0;

    for (w = 0; w < m->desc.workers; w++) n += m->handle[w] != NULL;
    return n;
}

static void model_die_and_rise(model *m)
{
    int32_t w = model_below(m, m->desc.workers), h;
    double now_s;

    if (!m->block) return;
    if (m->handle[w]) {
        if (model_living(m) > 1 || model_one_in(m, 4)) model_kill(m, w);
        if (model_living(m) > 0) return;
    }
    if (model_living(m) && model_one_in(m, 2)) { /* nobody takes the place of the dead */
        h = model_handle(m);
        if (h == w) return;
        now_s = model_now(m);
        model_note(m, "resync", h, w, 0, now_s);
        MODEL_SAME(m, -1, rllb_balancer_resync(m->handle[h], w, now_s), RLLB_OK);
        model_keeper_hears(m, now_s);
        model_lose(m, w);
    } else {
        m->desc.join = true;
        model_join(m, w);
        model_lose(m, w);
    }
    model_check_all(m);
}

/* Numbers of no worker; a block that is another's. */
static void model_wrong_join(model *m)
{
    static const int32_t wrong[] = { -1, -2, MODEL_WORKERS + 1, INT32_MAX, INT32_MIN };
    int32_t h = model_handle(m), kind = model_below(m, 6);
    rllb_balancer_desc d = m->desc;
    rllb_balancer *b = NULL;
    void *memory;
    size_t size;

    model_note(m, "wrong_join", h, kind, 0, m->clock_s);
    MODEL_DEMAND(m, rllb_balancer_resync(m->handle[h], wrong[model_below(m, 5)], m->clock_s) != RLLB_OK);
    if (!m->block) return;
    d.join = true;
    d.shared = m->block;
    d.shared_size = m->block_bytes;
    d.worker = 0;
    switch (kind) {
    case 0: d.capacity++; break;
    case 1: d.workers++; break;
    case 2: d.slots += 3; break;
    case 3: d.shared_size--; break;
    case 4: d.shared = (char *)m->block + 1; break;
    default: d.worker = d.workers; break;
    }
    size = rllb_balancer_size(&d);
    if (size == 0 || size == SIZE_MAX) return;
    memory = malloc(size);
    if (!memory) return;
    MODEL_DEMAND(m, rllb_balancer_init(&d, memory, size, &b) != RLLB_OK);
    MODEL_DEMAND(m, b == NULL);
    free(memory);
    model_check_all(m);
}

static void *model_aligned(size_t size)
{
    void *block = NULL;

    if (posix_memalign(&block, 64, size)) abort();
    return block;
}

/* As another process would see it: the gaps between its parts too, which a sanitizer guards. */
#ifdef __GNUC__
__attribute__((no_sanitize("address")))
#endif
static void model_copy(unsigned char *to, const unsigned char *from, size_t size)
{
    volatile unsigned char *out = to;
    size_t i;

    for (i = 0; i < size; i++) out[i] = from[i];
}

static size_t model_text(model *m, rllb_metrics_format format, char **text)
{
    size_t need = rllb_balancer_metrics(model_any(m), format, m->clock_s, NULL, 0);

    *text = (char *)malloc(need + 1);
    if (!*text) abort();
    MODEL_DEMAND(m, rllb_balancer_metrics(model_any(m), format, m->clock_s, *text, need) == need);
    MODEL_DEMAND(m, need > 0 && strlen(*text) == need - 1);
    return need;
}

/* The block goes to another address; all who worked there are gone. */
static void model_move(model *m)
{
    void *block;
    char *before, *after;
    int32_t h;

    if (!m->block) return;
    model_note(m, "move", 0, 0, 0, 0);
    model_text(m, RLLB_METRICS_PROMETHEUS, &before);
    block = model_aligned(m->block_bytes);
    model_copy((unsigned char *)block, (const unsigned char *)m->block, m->block_bytes);
    for (h = 0; h <= MODEL_KEEPER; h++) {
        if (m->handle[h]) model_kill(m, h);
    }
    free(m->block);
    m->block = block;
    m->desc.join = true;
    model_join(m, MODEL_KEEPER);
    if (m->failed) return;
    model_check_all(m);
    model_text(m, RLLB_METRICS_PROMETHEUS, &after);
    MODEL_DEMAND(m, strcmp(before, after) == 0);
    free(before);
    free(after);
    for (h = 0; h < m->desc.workers && !m->failed; h++) {
        if (h && model_one_in(m, 4)) continue; /* still missing */
        model_join(m, h);
        model_lose(m, h);
        model_check_all(m);
    }
}

/* ---- looking ---- */

static void model_metrics(model *m)
{
    rllb_metrics_format format = model_one_in(m, 2) ? RLLB_METRICS_INFLUX : RLLB_METRICS_PROMETHEUS;
    char *whole, *part;
    size_t need, size, length;

    if (!model_one_in(m, 4)) return; /* dear */
    model_note(m, "metrics", 0, (int32_t)format, 0, m->clock_s);
    need = model_text(m, format, &whole);
    size = (size_t)model_below(m, (int32_t)need + 1);
    part = (char *)malloc(size ? size : 1);
    if (!part) abort();
    memset(part, 0x5a, size ? size : 1);
    MODEL_DEMAND(m, rllb_balancer_metrics(model_any(m), format, m->clock_s, part, size) == need);
    MODEL_DEMAND(m, size == 0 || memchr(part, 0, size) != NULL);
    length = size == 0 || m->failed ? 0 : strlen(part);
    MODEL_DEMAND(m, length == 0 || part[length - 1] == '\n');
    MODEL_DEMAND(m, memcmp(part, whole, length) == 0);
    if (length < need - 1) { /* what was left out did not fit: the next line is longer than the room */
        const char *end = strchr(whole + length, '\n');
        MODEL_DEMAND(m, size == 0 || (end && (size_t)(end + 1 - whole) + 1 > size));
    }
    free(part);
    free(whole);
}

static void model_query(model *m)
{
    int32_t h = model_handle(m);
    rllb_balancer_desc d;
    rllb_server_info info;
    static const int32_t wrong[] = { -1, INT32_MAX, INT32_MIN };

    model_note(m, "query", h, 0, 0, 0);
    memset(&d, 0x5a, sizeof d);
    rllb_balancer_query(m->handle[h], &d);
    MODEL_SAME(m, -1, d.policy, m->desc.policy);
    MODEL_SAME(m, -1, d.fallback, m->desc.fallback);
    MODEL_SAME(m, -1, d.capacity, m->desc.capacity);
    MODEL_SAME(m, -1, d.workers, m->desc.workers);
    MODEL_SAME(m, -1, d.worker, h == MODEL_KEEPER ? -1 : h);
    MODEL_SAME(m, -1, d.shadow, m->shadow);
    MODEL_SAME(m, -1, d.slots > 0, model_has_reservoirs(m));
    MODEL_DEMAND(m, d.servers == NULL && d.interval_s > 0);
    MODEL_DEMAND(m, rllb_balancer_server(m->handle[h], wrong[model_below(m, 3)], &info) != RLLB_OK);
    MODEL_DEMAND(m, rllb_balancer_server(m->handle[h], m->desc.capacity, &info) != RLLB_OK);
    model_check_all(m);
}

/* ---- one step ------------------------------------------------------------------------------------------------- */

static const struct {
    void (*fn)(model *m);
    int32_t share; /* of 256 */
} model_steps[] = {
    { model_pick, 76 },      { model_done, 74 },      { model_pick_other, 8 }, { model_sample, 10 },
    { model_report, 10 },    { model_probe, 5 },      { model_tick, 24 },      { model_observe, 5 },
    { model_act, 8 },        { model_add, 8 },        { model_remove, 5 },     { model_set_state, 8 },
    { model_set_weight, 4 }, { model_set_trust, 2 },  { model_query, 3 },      { model_die_and_rise, 3 },
    { model_metrics, 1 },    { model_wrong_join, 1 }, { model_move, 1 },
};

/* Time passes: mostly milliseconds, now and then a minute. */
static void model_pass(model *m)
{
    int32_t r = model_below(m, 256);

    if (r < 128) return;
    if (r < 250) m->clock_s += 0.0001 * (double)(r - 127);
    else if (r < 255) m->clock_s += 0.3 * (double)(r - 249);
    else m->clock_s += model_one_in(m, 4) ? 100 : 6;
}

/* The world changes: how servers fail, what an oracle sees. */
static void model_drift(model *m)
{
    static const int32_t moods[] = { 0, 0, 0, 1, 4, 12, 16, 16 };
    int32_t i = model_below(m, m->desc.capacity);

    m->server[i].mood = moods[model_below(m, 8)];
    m->oracle[i] = model_one_in(m, 32) ? model_wrong_float(m) : 0.5f * (float)model_below(m, 16);
}

/* Once it begins, and not as long as it lasts. */
static void model_follow_panic(model *m)
{
    bool panic = model_panic(m) && model_count(m, RLLB_SERVER_EJECTED) > 0;

    if (panic != m->panic) m->settled = false;
    if (panic && !m->panic) m->want.panics++;
    m->panic = panic;
}

/* False: the sequence is over, or something is wrong. */
static bool model_step(model *m)
{
    int32_t draw, i = 0;

    if (m->failed || model_ended(m)) return false;
    m->steps++;
    model_pass(m);
    if (model_one_in(m, 8)) model_drift(m);
    draw = model_below(m, 256);
    while (draw >= model_steps[i].share) draw -= model_steps[i++].share;
    if (model_living(m) == 0) {
        m->desc.join = true;
        model_join(m, 0);
        model_lose(m, 0);
    }
    model_steps[i].fn(m);
    model_follow_panic(m);
    model_check_counters(m);
    if (m->steps % 16 == 0) model_check_servers(m);
    return !m->failed;
}

/* ---- what is put to the test ---------------------------------------------------------------------------------- */

static float model_guard_number(model *m, float standard)
{
    switch (model_below(m, 4)) {
    case 0: return 0;
    case 1: return RLLB_OFF;
    case 2: return standard * 0.25f;
    default: return standard;
    }
}

static void model_draw_guard(model *m, rllb_guard *g)
{
    switch (m->guards) {
    case MODEL_GUARDS_ON: return;
    case MODEL_GUARDS_OFF:
        g->floor = g->ceiling = g->rate = g->deadline_s = g->eject_failures = g->eject_rate = g->eject_s = RLLB_OFF;
        g->eject_longest_s = g->eject_share = g->panic = g->slow_start_s = g->minimum_share = g->failure_s = RLLB_OFF;
        return;
    default: break;
    }
    g->floor = model_guard_number(m, 0.2f);
    g->ceiling = model_guard_number(m, 8);
    g->rate = model_guard_number(m, 8);
    g->deadline_s = model_guard_number(m, 2);
    g->eject_failures = model_guard_number(m, 8);
    g->eject_rate = model_guard_number(m, 0.8f);
    g->eject_s = model_guard_number(m, 0.5f);
    g->eject_longest_s = model_guard_number(m, 4);
    g->eject_share = model_guard_number(m, 1);
    g->panic = model_guard_number(m, 0.9f);
    g->slow_start_s = model_guard_number(m, 1);
    g->minimum_share = model_guard_number(m, 0.4f);
    g->failure_s = model_guard_number(m, 0.3f);
}

static void model_draw_servers(model *m)
{
    static const int32_t capacities[] = { 3, 1, 2, 5, 8, 9, 16, 17, 40, MODEL_SERVERS };
    rllb_balancer_desc *d = &m->desc;
    int32_t i;

    d->capacity = capacities[model_below(m, 10)];
    d->count = model_one_in(m, 4) ? model_below(m, d->capacity + 1) : d->capacity;
    if (model_one_in(m, 4)) {
        for (i = 0; i < d->count; i++) m->first[i].weight = 1;
        return; /* unnamed, weight 1 */
    }
    for (i = 0; i < d->count; i++) {
        snprintf(m->names[i], sizeof m->names[i], "%s server %d", model_one_in(m, 8) ? "a rather long-winded" : "a",
                 (int)i);
        m->first[i].name = model_one_in(m, 4) ? NULL : m->names[i];
        m->first[i].weight = model_weight(m);
    }
    d->servers = m->first;
}

static void model_draw_rules(model *m)
{
    static const float exponents[] = { RLLB_OFF, 0, 0, 0.5f, 1, 1.2f, 2, 16 };
    rllb_balancer_desc *d = &m->desc;
    static const rllb_balance back[] = { RLLB_BALANCE_SED, RLLB_BALANCE_LSQ, RLLB_BALANCE_ROUND_ROBIN,
                                         RLLB_BALANCE_WEIGHTED_ROUND_ROBIN, RLLB_BALANCE_ECMP, RLLB_BALANCE_WCMP,
                                         RLLB_BALANCE_P2C_WEIGHTED, RLLB_BALANCE_DRAW, RLLB_BALANCE_JIQ };

    d->seed = (uint64_t)model_below(m, 256);
    d->ties = (rllb_ties)model_below(m, 3);
    d->d = model_below(m, 5);
    d->a = exponents[model_below(m, 8)];
    d->gamma = exponents[1 + model_below(m, 7)];
    d->table = 251;
    d->by_stretch = model_one_in(m, 2);
    d->equalise_s = model_one_in(m, 2) ? 0.3f : 0;
    d->form = (rllb_form)model_below(m, 3);
    if (model_one_in(m, 2)) {
        d->control = model_control;
        d->control_self = m;
    }
    d->control_form = model_one_in(m, 3);
    d->control_steps = model_one_in(m, 3);
    d->spread = model_one_in(m, 3) ? 1.5f : 0;
    d->choose = model_choose;
    d->choose_self = m;
    d->oracle = m->oracle;
    d->fallback = back[model_below(m, 9)];
    d->shadow = model_one_in(m, 4);
    d->blend = model_one_in(m, 3) ? 0.5f : 0;
    d->smoothing = model_one_in(m, 3) ? 0.5f : 0;
}

static void model_draw_observation(model *m)
{
    static const int32_t slots[] = { 0, 1, 4, 16 };
    rllb_balancer_desc *d = &m->desc;

    d->interval_s = model_one_in(m, 2) ? 0.05f : 0;
    d->slots = slots[model_below(m, 4)];
    d->keep = model_one_in(m, 2) ? 0.5f : 0;
    d->empty_as_zero = model_one_in(m, 2);
    d->features = (rllb_features)model_below(m, RLLB_FEATURES_NUM);
    d->reward = (rllb_reward)model_below(m, RLLB_REWARD_NUM);
    d->reward_field = model_below(m, d->features == RLLB_FEATURES_RELATIVE ? 2 : 7);
}

static void model_lay_out(model *m)
{
    int32_t i, w;

    if (model_one_in(m, 4)) {
        m->desc.workers = 1;
        m->block = NULL;
    } else {
        m->desc.workers = 1 + model_below(m, MODEL_WORKERS);
        m->block_bytes = rllb_balancer_shared_size(&m->desc);
        m->block = model_aligned(m->block_bytes);
    }
    for (w = 0; w < m->desc.workers && !m->failed; w++) {
        model_join(m, w);
        m->desc.join = m->block != NULL;
    }
    if (m->block && !m->failed) model_join(m, MODEL_KEEPER);
    for (i = 0; i < m->desc.count; i++) {
        model_begin(m, i, m->desc.servers ? m->first[i].name : NULL, m->first[i].weight);
    }
}

static model *model_create(model_source *source, rllb_balance policy, model_guards guards)
{
    model *m = (model *)calloc(1, sizeof *m);

    if (!m) abort();
    m->source = source;
    m->guards = guards;
    rllb_balancer_desc_default(&m->desc);
    m->desc.policy = policy;
    model_draw_servers(m);
    model_draw_rules(m);
    model_draw_observation(m);
    model_draw_guard(m, &m->desc.guard);
    m->shadow = m->desc.shadow;
    m->a = m->desc.a < 0 ? 0 : m->desc.a > 0 ? (double)m->desc.a : 1;
    m->clock_s = model_one_in(m, 4) ? 1.7e9 : 0;
    model_lay_out(m);
    if (!m->failed) model_check_all(m);
    return m;
}

static void model_destroy(model *m)
{
    int32_t h;

    for (h = 0; h <= MODEL_KEEPER; h++) free(m->memory[h]);
    free(m->block);
    free(m);
}

#endif /* BALANCER_MODEL_H */
