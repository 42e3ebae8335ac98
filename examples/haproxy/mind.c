/* mind.c - what each server is worth, from requests that HAProxy sent and ended

   The balancer of rllb.h never sends a request here, it watches. Each log line is an end with its duration. How many
   are in flight is what HAProxy's statistics say, once an interval, and between two of them what ended since: so the
   balancer sees the same counts that HAProxy goes by. What it finds is scaled so that the greatest weight is 256.

   Weights go to servers that take part: running by HAProxy's checks, in no maintenance, not draining, no backup. An
   ejected one (the guard of rllb.h) gets weight 0, which HAProxy takes for "no new requests"; when its time is over, 1,
   until something went well. A weight of 0 that somebody set while we ran means draining; one found at the start is a
   predecessor's. What HAProxy has otherwise than it should is set again: so a restart of HAProxy needs no special care.

   Where no line comes though requests end, nothing can be learned: after five seconds the configured weights are set,
   until lines come again. */

#include "companion.h"

#include "common.h"
#include "files.h"
#include "models.h"
#include "states.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAK = 5, DEAF_ENDS = 20 };
#define DEAF_S 5.0

/* What is known of a server beside the balancer's own figures; its place is the balancer's index. */
typedef struct seat {
    char name[HX_NAME_MOST]; /* empty: nobody has this index */
    bool seen, serves;       /* in the latest report; takes part */
    bool drained;            /* by a weight of 0 that is not ours */
    bool trial;              /* ejected, and now to show itself */
    bool decided;            /* `wanted` is there: nothing is sent before */
    int32_t has, configured; /* weights as HAProxy told */
    int32_t wanted, asked;   /* weight decided; in the line under way, -1: none */
    int32_t set;             /* latest that HAProxy took from us; -1: none */
    int32_t streak;          /* failures in a row */
    uint64_t total, redispatched;
    int32_t in_flight;       /* by the latest report */
} seat;

struct hx_mind {
    hx_setup setup;
    rllb_balance policy;
    double offset_s; /* the balancer's clock less the caller's */
    rllb_balancer *balancer;
    void *block;
    size_t block_size;
    rllb_nn_policy *network;
    ex_model_info info;
    int32_t capacity;
    seat *seat;
    hx_counts counts;
    int64_t pid;
    bool urgent, full, deaf;
    double heard_s;        /* of the latest line, by the caller's clock */
    uint64_t ended_silent; /* requests that ended since, in intervals without any line */
    uint64_t lines_told;   /* lines as of the latest report */
};

static double clock_of(const hx_mind *m, double now_s)
{
    return now_s + m->offset_s;
}

hx_counts *hx_mind_counts(hx_mind *m)
{
    return &m->counts;
}

/* ---- the balancer ----------------------------------------------------------------------------------------------- */

static void control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    hx_mind *m = self;

    rllb_nn_policy_control(m->network, observation, observations, action, actions);
}

/* Only a set policy: HAProxy's servers come and go. */
static bool model_load(hx_mind *m)
{
    ex_model own, *model = &own;

    memset(&own, 0, sizeof own);
    if (!m->setup.model) model = ex_model_shelf(NULL);
    else if (!ex_model_open(m->setup.model, &own)) return false;
    if (!model) return false;
    if (model->policy.space.item_observations <= 0) {
        ex_fail("%s is made for a fixed number of servers: the companion needs one for any", model->path);
    } else {
        m->info = model->info;
        m->network = ex_model_network(model, m->capacity);
        if (!m->network) ex_fail("%s: cannot be made for %d servers", model->path, (int)m->capacity);
    }
    ex_model_close(&own);
    return m->network != NULL;
}

static void describe(hx_mind *m, rllb_balancer_desc *d)
{
    rllb_balancer_desc_default(d);
    d->policy = m->policy;
    d->name = "haproxy";
    d->capacity = m->capacity;
    d->seed = m->setup.seed;
    d->interval_s = (float)(0.8 * m->setup.interval_s); /* HAProxy's answers are not quite on time: each is to count */
    d->blend = (float)m->setup.blend;
    d->guard.floor = (float)m->setup.floor;
    d->guard.ceiling = (float)m->setup.ceiling;
    d->guard.eject_failures = STREAK;
    if (m->network) {
        ex_model_info_apply(&m->info, d);
        d->spread = 0; /* a few balancers, often with little to do: each hears of every server, and shares stay even */
        d->control = control;
        d->control_self = m;
        if (m->info.interval_s > 0) d->interval_s = 0.8f * m->info.interval_s;
    }
}

static bool block_alloc(hx_mind *m)
{
    m->block = NULL;
    if (!m->block_size || posix_memalign(&m->block, 64, m->block_size) != 0) return false;
    memset(m->block, 0, m->block_size);
    return true;
}

/* An empty balancer, or with `bytes` the one that a state file holds. */
static bool balancer_create(hx_mind *m, const void *bytes, size_t size)
{
    rllb_balancer_desc d;

    describe(m, &d);
    m->block_size = rllb_balancer_shared_size(&d);
    if ((bytes && size != m->block_size) || !block_alloc(m)) return false;
    if (bytes) memcpy(m->block, bytes, size);
    d.shared = m->block;
    d.shared_size = m->block_size;
    d.join = bytes != NULL;
    m->balancer = rllb_balancer_create(&d);
    if (m->balancer) return true;
    free(m->block);
    m->block = NULL;
    return false;
}

static void brain_destroy(hx_mind *m)
{
    rllb_balancer_destroy(m->balancer);
    free(m->block);
    rllb_nn_policy_destroy(m->network);
    free(m->seat);
    m->balancer = NULL;
    m->block = NULL;
    m->network = NULL;
    m->seat = NULL;
}

/* Seats and what the policy needs. */
static bool brain_create(hx_mind *m, int32_t capacity)
{
    m->capacity = capacity;
    m->seat = calloc((size_t)capacity, sizeof *m->seat);
    if (!m->seat) return ex_fail("not enough memory") == EX_OK;
    return m->policy != RLLB_BALANCE_LEARNED || model_load(m);
}

/* ---- what was learned ------------------------------------------------------------------------------------------- */

static void state_of(const hx_mind *m, double now_s, ex_state *s)
{
    memset(s, 0, sizeof *s);
    snprintf(s->program, sizeof s->program, "haproxy");
    snprintf(s->policy, sizeof s->policy, "%s", m->setup.policy);
    snprintf(s->site, sizeof s->site, "%s", m->setup.backend);
    s->capacity = m->capacity;
    s->clock_s = clock_of(m, now_s);
    s->names = m->seat ? m->seat->name : NULL;
    s->stride = sizeof *m->seat;
    s->block = m->block;
    s->block_bytes = m->block_size;
}

bool hx_mind_save(hx_mind *m, double now_s)
{
    ex_state s;
    size_t size;
    void *bytes;
    bool ok;

    if (!m->balancer || !m->setup.state) return true;
    state_of(m, now_s, &s);
    bytes = ex_state_pack(&s, &size);
    if (!bytes) return ex_fail("not enough memory to save the state") == EX_OK;
    ok = ex_file_write(m->setup.state, bytes, size);
    free(bytes);
    return ok;
}

/* The balancer of the file; its requests in flight are those that the next report tells. */
static const char *state_join(hx_mind *m, const ex_state *s, double now_s)
{
    rllb_server_info info;
    int32_t j;

    if (s->capacity > HX_SERVERS_MOST) return "is damaged";
    m->offset_s = s->clock_s - now_s;
    if (!brain_create(m, s->capacity)) return "takes what there is not";
    if (!balancer_create(m, s->block, s->block_bytes)) return "is of other settings or another model";
    rllb_balancer_resync(m->balancer, 0, clock_of(m, now_s));
    for (j = 0; j < m->capacity; j++) {
        snprintf(m->seat[j].name, sizeof m->seat[j].name, "%s", s->names + (size_t)j * s->stride);
        m->seat[j].set = m->seat[j].asked = -1;
        if (rllb_balancer_server(m->balancer, j, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) {
            m->seat[j].name[0] = '\0';
        }
    }
    return NULL;
}

/* Goes on from the file, if there is one that is of use. */
static bool state_find(hx_mind *m, double now_s)
{
    ex_text file = { NULL, 0, 0, false };
    ex_state wanted, there;
    const char *fault;

    if (!m->setup.state) return false;
    state_of(m, now_s, &wanted);
    if (ex_state_read(m->setup.state, &wanted, &file, &there, &fault)) fault = state_join(m, &there, now_s);
    else if (!fault) return false;
    ex_text_free(&file);
    if (!fault) return true;
    ex_warn("%s %s: what was learned before is not used", m->setup.state, fault);
    brain_destroy(m);
    m->offset_s = 0;
    return false;
}

/* ---- servers ---------------------------------------------------------------------------------------------------- */

static int32_t seat_of(const hx_mind *m, const char *name)
{
    int32_t j;

    for (j = 0; j < m->capacity; j++) {
        if (strcmp(m->seat[j].name, name) == 0) return j;
    }
    return -1;
}

static rllb_server_info info_of(const hx_mind *m, int32_t j)
{
    rllb_server_info info;

    memset(&info, 0, sizeof info);
    rllb_balancer_server(m->balancer, j, &info);
    return info;
}

static float worth(int32_t configured)
{
    return configured > 0 ? (float)configured : 1;
}

/* A seat for a new server; -1: there is none, and one line said so. */
static int32_t seat_take(hx_mind *m, const hx_server *s, double t)
{
    rllb_server_desc fresh = { s->name, worth(s->configured) };
    int32_t j;

    if (rllb_balancer_add(m->balancer, &fresh, t, &j) != RLLB_OK) {
        if (!m->full) ex_warn("server %s: no room for it; it keeps its weight (start the companion anew)", s->name);
        m->full = true;
        return -1;
    }
    memset(&m->seat[j], 0, sizeof m->seat[j]);
    memcpy(m->seat[j].name, s->name, sizeof s->name);
    m->seat[j].asked = m->seat[j].set = -1;
    m->seat[j].total = s->total;
    m->seat[j].redispatched = s->redispatched;
    m->seat[j].configured = s->configured;
    return j;
}

/* As many in flight as HAProxy says. */
static void align(hx_mind *m, int32_t j, int32_t wanted, double t)
{
    int64_t n = info_of(m, j).in_flight;

    for (; n < wanted; n++) rllb_balancer_started(m->balancer, j, t);
    for (; n > wanted; n--) rllb_balancer_done(m->balancer, j, t, t, RLLB_OUTCOME_CANCELLED);
}

/* A request that failed at server j after elapsed_s. */
static void fail_at(hx_mind *m, int32_t j, double elapsed_s, double t)
{
    rllb_balancer_done(m->balancer, j, t - elapsed_s, t, RLLB_OUTCOME_FAILED);
    m->seat[j].streak++;
}

static void settle(hx_mind *m, int32_t j, const hx_server *s, double t)
{
    seat *k = &m->seat[j];
    rllb_server_state now = info_of(m, j).state, state = RLLB_SERVER_UP;

    if (s->weight == 0 && k->asked == 0) k->set = 0; /* it was taken, only the answer did not get here */
    if (s->weight == 0 && k->set > 0 && k->has > 0) k->drained = true;
    if (s->weight > 0) k->drained = false;
    if (!s->running || s->backup) state = RLLB_SERVER_DOWN;
    else if (!s->ready || k->drained || s->configured == 0) state = RLLB_SERVER_DRAINING;
    k->serves = state == RLLB_SERVER_UP;
    if (state == RLLB_SERVER_UP && now == RLLB_SERVER_EJECTED) return; /* it comes back by itself */
    if (state != now) rllb_balancer_set_state(m->balancer, j, state, t);
}

static void hear_server(hx_mind *m, int32_t j, const hx_server *s, double t)
{
    rllb_report report = { NAN, NAN, 0 };
    seat *k = &m->seat[j];
    int64_t ended = (int64_t)(s->total - k->total) - (s->in_flight - k->in_flight);
    uint64_t gone = s->redispatched > k->redispatched ? s->redispatched - k->redispatched : 0;

    if (s->total >= k->total && ended > 0) {
        m->counts.ended += (uint64_t)ended;
        m->ended_silent += (uint64_t)ended;
    }
    for (; gone && s->total >= k->total && gone < 1000; gone--) { /* no log line tells of these */
        rllb_balancer_started(m->balancer, j, t);
        fail_at(m, j, 0, t);
    }
    if (k->configured != s->configured && s->configured > 0) {
        rllb_balancer_set_weight(m->balancer, j, worth(s->configured), t);
    }
    settle(m, j, s, t);
    align(m, j, s->in_flight + s->waiting < 100000 ? s->in_flight + s->waiting : 100000, t);
    report.utilisation = (float)(s->in_flight + s->waiting);
    rllb_balancer_report(m->balancer, j, &report, t);
    k->seen = true;
    k->has = s->weight;
    k->configured = s->configured;
    k->total = s->total;
    k->redispatched = s->redispatched;
    k->in_flight = s->in_flight;
}

static bool first_report(hx_mind *m, const hx_report *r, double now_s)
{
    int32_t capacity = 2 * r->count + 16;

    if (!state_find(m, now_s)) {
        if (!brain_create(m, capacity < HX_SERVERS_MOST ? capacity : HX_SERVERS_MOST)) return false;
        if (!balancer_create(m, NULL, 0)) return ex_fail("not enough memory for the balancer") == EX_OK;
    }
    m->heard_s = now_s;
    m->pid = r->pid;
    return true;
}

static void all_leave(hx_mind *m, double t)
{
    int32_t j;

    for (j = 0; j < m->capacity; j++) {
        if (!m->seat[j].name[0] || m->seat[j].seen) continue;
        align(m, j, 0, t);
        rllb_balancer_remove(m->balancer, j, t);
        m->seat[j].name[0] = '\0';
    }
}

/* A restart: its counters begin at 0, its weights are those of the file. */
static void begins_anew(hx_mind *m, const hx_report *r)
{
    int32_t j;

    m->counts.restarts++;
    m->pid = r->pid;
    for (j = 0; j < m->capacity; j++) {
        m->seat[j].total = m->seat[j].redispatched = 0;
        m->seat[j].in_flight = 0;
        m->seat[j].set = -1;
        m->seat[j].drained = false;
    }
}

bool hx_mind_report(hx_mind *m, const hx_report *r, double now_s)
{
    double t;
    int32_t i, j;

    if (!m->balancer && !first_report(m, r, now_s)) return false;
    if (r->pid != m->pid) begins_anew(m, r);
    t = clock_of(m, now_s);
    for (j = 0; j < m->capacity; j++) m->seat[j].seen = false;
    for (i = 0; i < r->count; i++) {
        j = seat_of(m, r->server[i].name);
        if (j >= 0) m->seat[j].seen = true;
    }
    all_leave(m, t);
    for (i = 0; i < r->count; i++) {
        j = seat_of(m, r->server[i].name);
        if (j < 0) j = seat_take(m, &r->server[i], t);
        if (j >= 0) hear_server(m, j, &r->server[i], t);
    }
    if (m->counts.lines != m->lines_told) m->ended_silent = 0;
    m->lines_told = m->counts.lines;
    m->counts.reports++;
    return true;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* Seconds at the server: what HAProxy measured, without the time it took for the client to ask and, where requests wait
   for any server, for a server to have room. Half a millisecond where its clock saw none. */
static double duration_of(const hx_mind *m, const hx_log *l)
{
    int32_t waited = l->tw > 0 && l->queued > 0 ? l->tw : 0, ms = l->ta - (l->tr > 0 ? l->tr : 0) - waited;

    if (m->setup.to_first_byte && l->tresponse >= 0) ms = (l->tc > 0 ? l->tc : 0) + l->tresponse;
    return ms > 0 ? 1e-3 * ms : 5e-4;
}

/* By whose fault: the server's if it ended the connection or let its time pass, or answered 5xx; nobody's if the client
   went away or HAProxy ended it. */
static rllb_outcome outcome_of(const hx_log *l)
{
    bool bad = l->status >= 500 && l->status != 501 && l->status != 505;

    if (l->cause == 'S' || l->cause == 's') return RLLB_OUTCOME_FAILED;
    if (l->cause != '-') return RLLB_OUTCOME_CANCELLED;
    return bad ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK;
}

/* Too many failures in a row, or one on trial: no more of them until the guard has looked, as long as half remain. */
static void hurry(hx_mind *m, int32_t j)
{
    int32_t i, out = 0, all = 0;
    seat *s = &m->seat[j];

    if ((s->streak < STREAK && !s->trial) || !s->serves || (s->decided && s->wanted == 0)) return;
    for (i = 0; i < m->capacity; i++) {
        if (!m->seat[i].name[0] || !m->seat[i].serves) continue;
        all++;
        out += m->seat[i].decided && m->seat[i].wanted == 0;
    }
    if (2 * (out + 1) > all) return;
    s->wanted = 0;
    s->decided = true;
    s->trial = false;
    m->urgent = true;
}

void hx_mind_line(hx_mind *m, const char *line, size_t size, double now_s)
{
    double t = clock_of(m, now_s), elapsed_s;
    rllb_outcome outcome;
    int32_t j;
    hx_log l;

    switch (hx_log_read(m->setup.backend, line, size, &l)) {
    case HX_LINE_OTHER: m->counts.others++; return;
    case HX_LINE_WRONG: m->counts.wrong++; return;
    case HX_LINE_TAKEN: break;
    }
    j = m->balancer ? seat_of(m, l.server) : -1;
    if (j < 0) {
        m->counts.unknown++;
        return;
    }
    m->counts.lines++;
    m->heard_s = now_s;
    elapsed_s = duration_of(m, &l);
    outcome = outcome_of(&l);
    if (info_of(m, j).in_flight == 0) rllb_balancer_started(m->balancer, j, t);
    if (outcome == RLLB_OUTCOME_FAILED) {
        fail_at(m, j, elapsed_s, t);
        hurry(m, j);
    } else {
        rllb_balancer_done(m->balancer, j, t - elapsed_s, t, outcome);
        if (outcome == RLLB_OUTCOME_OK) m->seat[j].streak = 0;
    }
    if (m->setup.by_lines) align(m, j, l.at_server > 0 && l.at_server < 100000 ? l.at_server : 0, t);
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

/* Whom the balancer would send a request now, only to find out how it is: an ejected one whose time is over. */
static void find_trials(hx_mind *m, double t)
{
    int32_t i, j, ejected = 0;

    for (j = 0; j < m->capacity; j++) {
        m->seat[j].trial = false;
        ejected += m->seat[j].name[0] && info_of(m, j).state == RLLB_SERVER_EJECTED;
    }
    for (i = 0; i < ejected; i++) {
        j = rllb_balancer_pick(m->balancer, 0, t);
        if (j < 0) return;
        m->seat[j].trial = !info_of(m, j).usable;
        rllb_balancer_done(m->balancer, j, t, t, RLLB_OUTCOME_CANCELLED);
    }
}

static void decide(hx_mind *m)
{
    rllb_server_info info;
    double most = 0;
    int32_t j;

    for (j = 0; j < m->capacity; j++) {
        if (!m->seat[j].name[0] || !m->seat[j].serves) continue;
        info = info_of(m, j);
        if (info.usable && (double)info.weight_in_force > most) most = (double)info.weight_in_force;
    }
    for (j = 0; j < m->capacity; j++) {
        seat *s = &m->seat[j];
        if (!s->name[0] || !s->serves) continue;
        info = info_of(m, j);
        s->decided = true;
        s->wanted = info.usable && most > 0 ? (int32_t)lrint(HX_WEIGHT_MOST * (double)info.weight_in_force / most) : 0;
        if ((info.usable || s->trial) && s->wanted < 1) s->wanted = 1;
        if (m->deaf || !(most > 0)) s->wanted = s->configured;
    }
}

static void listen_for(hx_mind *m, double now_s)
{
    bool deaf = now_s - m->heard_s > DEAF_S && m->ended_silent >= DEAF_ENDS;

    if (deaf && !m->deaf) ex_warn("requests end, but no log line comes: setting the configured weights until one does");
    if (!deaf && m->deaf && now_s - m->heard_s > DEAF_S) return;
    m->deaf = deaf;
}

void hx_mind_tick(hx_mind *m, double now_s)
{
    double t = clock_of(m, now_s);

    if (!m->balancer || !rllb_balancer_tick(m->balancer, t)) return;
    listen_for(m, now_s);
    find_trials(m, t);
    decide(m);
}

bool hx_mind_urgent(const hx_mind *m)
{
    return m->urgent;
}

/* Steps of one 256th are noise. */
static bool differs(int32_t wanted, int32_t has)
{
    int32_t by = wanted > has ? wanted - has : has - wanted;

    return by > (wanted >= 64 && has >= 64 && wanted < HX_WEIGHT_MOST);
}

size_t hx_mind_commands(hx_mind *m, bool configured, char *line, int32_t *count)
{
    size_t at = 0;
    int32_t j;

    *count = 0;
    m->urgent = false;
    for (j = 0; m->balancer && j < m->capacity; j++) {
        seat *s = &m->seat[j];
        int32_t wanted = configured ? s->configured : s->wanted;
        s->asked = -1;
        if (!s->name[0] || !(configured || (s->serves && s->decided))) continue;
        if (configured ? wanted == s->has : !differs(wanted, s->has)) continue;
        if (at + 2 * HX_NAME_MOST + 32 > HX_COMMAND_MOST) break;
        at += (size_t)snprintf(line + at, HX_COMMAND_MOST - at, "%sset weight %s/%s %d", at ? ";" : "",
                               m->setup.backend, s->name, (int)wanted);
        s->asked = wanted;
        ++*count;
    }
    if (at) line[at++] = '\n';
    line[at] = '\0';
    return at;
}

void hx_mind_taken(hx_mind *m, bool configured)
{
    int32_t j;

    for (j = 0; j < m->capacity; j++) {
        if (m->seat[j].asked < 0) continue;
        m->seat[j].has = m->seat[j].asked;
        m->seat[j].set = configured ? -1 : m->seat[j].asked;
        m->seat[j].asked = -1;
    }
}

int32_t hx_mind_percent(const hx_mind *m, const char *name)
{
    int32_t j = m->balancer ? seat_of(m, name) : -1;
    double percent;

    if (j < 0) return -1;
    if (!m->seat[j].decided) return 100;
    percent = 100.0 * m->seat[j].wanted / (double)worth(m->seat[j].configured);
    return percent > 25600 ? 25600 : (int32_t)lrint(percent > 0 && percent < 1 ? 1 : percent);
}

/* ---- what others may know --------------------------------------------------------------------------------------- */

static void tell(ex_text *t, const char *kind, const char *name, uint64_t value, const char *words)
{
    ex_text_printf(t, "# HELP rllb_haproxy_%s %s\n# TYPE rllb_haproxy_%s %s\nrllb_haproxy_%s %llu\n", name, words, name,
                   kind, name, (unsigned long long)value);
}

static void tell_counts(const hx_mind *m, ex_text *t)
{
    const hx_counts *c = &m->counts;

    tell(t, "counter", "lines_total", c->lines, "log lines taken");
    tell(t, "counter", "lines_other_total", c->others, "log lines of other backends, or of requests without server");
    tell(t, "counter", "lines_wrong_total", c->wrong, "log lines that were not understood");
    tell(t, "counter", "lines_unknown_total", c->unknown, "log lines of servers that are not known");
    tell(t, "counter", "ended_total", c->ended, "requests ended, as HAProxy counts; more than lines: some got lost");
    tell(t, "counter", "flood_total", c->full, "times that log lines were left for later, there being too many");
    tell(t, "counter", "reports_total", c->reports, "answers of HAProxy");
    tell(t, "counter", "faults_total", c->faults, "times that HAProxy could not be asked or told");
    tell(t, "counter", "restarts_total", c->restarts, "times that HAProxy had another process");
    tell(t, "counter", "weights_sent_total", c->sent, "weights set");
    tell(t, "counter", "weights_refused_total", c->refused, "lines of weights that HAProxy refused");
    tell(t, "counter", "agent_checks_total", c->agents, "agent checks answered");
    tell(t, "counter", "agent_strangers_total", c->strangers, "agent checks that named no server");
    tell(t, "gauge", "deaf", m->deaf, "1 while requests end and no log line comes");
}

static void tell_weights(const hx_mind *m, ex_text *t)
{
    int32_t j;

    ex_text_printf(t, "# HELP rllb_haproxy_weight weight in HAProxy\n# TYPE rllb_haproxy_weight gauge\n");
    for (j = 0; j < m->capacity; j++) {
        const seat *s = &m->seat[j];
        if (s->name[0]) ex_text_printf(t, "rllb_haproxy_weight{server=\"%s\"} %d\n", s->name, (int)s->has);
    }
    ex_text_printf(t, "# HELP rllb_haproxy_wanted weight decided\n# TYPE rllb_haproxy_wanted gauge\n");
    for (j = 0; j < m->capacity; j++) {
        const seat *s = &m->seat[j];
        if (s->name[0] && s->serves) {
            ex_text_printf(t, "rllb_haproxy_wanted{server=\"%s\"} %d\n", s->name, (int)s->wanted);
        }
    }
}

char *hx_mind_status(hx_mind *m, double now_s, size_t *size)
{
    ex_text t = { NULL, 0, 0, false };
    size_t room;
    char *page;

    tell_counts(m, &t);
    if (m->balancer) {
        tell_weights(m, &t);
        room = rllb_balancer_metrics(m->balancer, RLLB_METRICS_PROMETHEUS, clock_of(m, now_s), NULL, 0);
        page = malloc(room + 1);
        if (page) {
            rllb_balancer_metrics(m->balancer, RLLB_METRICS_PROMETHEUS, clock_of(m, now_s), page, room);
            ex_text_printf(&t, "%s", page);
        }
        free(page);
    }
    *size = t.size;
    if (!t.failed) return t.data;
    ex_text_free(&t);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

hx_mind *hx_mind_create(const hx_setup *s)
{
    int32_t policy = rllb_balance_of(s->policy);
    hx_mind *m;

    if (policy != RLLB_BALANCE_LEARNED && policy != RLLB_BALANCE_EQUALISE && policy != RLLB_BALANCE_HLB &&
        policy != RLLB_BALANCE_AWCMP) {
        ex_usage("policy", "'%s' finds no weights; learned, equalise, hlb and awcmp do", s->policy);
        return NULL;
    }
    m = calloc(1, sizeof *m);
    if (!m) {
        ex_fail("not enough memory");
        return NULL;
    }
    m->setup = *s;
    m->policy = (rllb_balance)policy;
    m->capacity = 1;
    if (m->policy == RLLB_BALANCE_LEARNED && !model_load(m)) { /* tried, so that a wrong file is told at once */
        free(m);
        return NULL;
    }
    rllb_nn_policy_destroy(m->network);
    m->network = NULL;
    return m;
}

void hx_mind_destroy(hx_mind *m)
{
    if (!m) return;
    brain_destroy(m);
    free(m);
}
