/* policy.c - which server: a balancer of rllb.h, and behind it a rule, a Q-table or a model

   Everything a policy needs to know passes through here once: attempts begin and end, checks say how servers are, the
   operator drains and switches. The balancer's indices are the proxy's; a server keeps its own as long as it lives, and
   nobody else gets it while an attempt is under way there.

   A reload keeps the balancer where it can: servers come, go, and change their weight. Where policy or model changed,
   or there is no more room, a new balancer takes over: it is told of every attempt that is under way, of what each
   server took of late, and of who is down, so that those attempts end with it. The weights that the old one found are
   its own knowledge, and go with it.

   Q-learning sees, of each server, what its checks say (says=json: cpu, active, response time), and what they do not
   say the proxy's own figures tell: attempts under way there, and the mean duration of the last hundred. A server that
   is down is the worst in every respect. The table holds LEVELS^servers states, so that it bears 39 servers at most.

   The state file (states.h) is the balancer's block and the Q-table. Attempts that were under way are counted as lost.
   A file that is damaged, or of another policy or another layout, is not used: one line says so.

   A model sees durations when requests end: those that still run are not sampled (sample_s of a model file).

   Calls nothing of libuv; the clock is the caller's. */

#include "proxy.h"

#include "common.h"
#include "models.h"
#include "states.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS = 3, TABLE_SERVERS_MOST = 39, LATE = 100 };
#define REWARD_S 1.0 /* how long a reward is remembered */

/* What is known of a server beside the balancer's own figures. */
typedef struct seat {
    char name[PX_NAME_MOST]; /* empty: nobody has this index */
    float weight;
    bool down, drained;      /* checks say so; the operator says so */
    rllb_server_state state; /* as the balancer was told */
    int32_t active;          /* attempts under way */
    double mean_ms;          /* of the last hundred */
    int32_t ends;
    float said[METRICS];     /* cpu, active, response ms by the last check; NaN: not said */
} seat;

/* Settings that a balancer cannot change while it serves. */
typedef struct setup {
    char name[32], fallback[32], model_path[PX_TEXT_MOST];
    double interval_s, alpha, gamma, epsilon, decay, epsilon_min;
    float levels[METRICS][2];
    uint64_t seed;
} setup;

struct px_policy {
    setup setup;
    bool shadow, shadow_configured;
    double blend, offset_s; /* offset_s: the balancer's clock less the caller's */
    rllb_balancer *balancer;
    void *block; /* what a state file keeps of it */
    size_t block_size;
    int32_t capacity;
    rllb_nn_policy *network;
    ex_model_info info; /* of the model ... */
    bool exact;         /* ... which is for so many servers and no others */
    rllb_qlearn *table;
    uint32_t tables; /* how many there were: attempts know which one they are for */
    seat seat[PX_INDEXES_MOST];
    double reward_sum, reward_count, reward_s;
};

/* What an attempt carries for the table. */
typedef struct mark {
    uint32_t table;
    rllb_qlearn_step step;
} mark;

typedef char mark_fits[sizeof(mark) <= sizeof ((px_attempt *)0)->step ? 1 : -1];

static double clock_of(const px_policy *p, double now_s)
{
    return now_s + p->offset_s;
}

static bool by_table(const setup *s)
{
    return strcmp(s->name, "q_learning") == 0;
}

static bool by_model(const setup *s)
{
    return strcmp(s->name, rllb_balance_name(RLLB_BALANCE_LEARNED)) == 0;
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

static void look_at(px_policy *p, int32_t j)
{
    const seat *s = &p->seat[j];
    float metrics[METRICS];
    int32_t i;

    if (!p->table) return;
    memcpy(metrics, s->said, sizeof metrics);
    if (isnan(metrics[1])) metrics[1] = (float)s->active;
    if (isnan(metrics[2]) && s->ends) metrics[2] = (float)s->mean_ms;
    for (i = 0; i < METRICS && s->down; i++) metrics[i] = INFINITY;
    rllb_qlearn_observe(p->table, j, metrics);
}

static bool table_create(px_policy *p)
{
    const setup *s = &p->setup;
    rllb_qlearn_desc d;
    int32_t i;

    rllb_qlearn_desc_default(&d);
    d.servers = p->capacity;
    d.alpha = (float)s->alpha;
    d.gamma = s->gamma > 0 ? (float)s->gamma : -1;
    d.epsilon = s->epsilon > 0 ? (float)s->epsilon : -1;
    d.decay = (float)s->decay;
    d.epsilon_min = s->epsilon_min > 0 ? (float)s->epsilon_min : -1;
    d.ties_by_cost = true;
    d.metrics = METRICS;
    for (i = 0; i < METRICS; i++) {
        memcpy(d.metric[i].threshold, s->levels[i], sizeof s->levels[i]);
        d.metric[i].thresholds = 2;
    }
    d.seed = s->seed;
    p->table = rllb_qlearn_create(&d);
    p->tables++;
    return p->table || ex_fail("q_learning: not enough memory for its table") == EX_OK;
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

static void control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    px_policy *p = self;

    rllb_nn_policy_control(p->network, observation, observations, action, actions);
}

/* For how many servers the model is; 0: any number. */
static int32_t made_for(const ex_model *m)
{
    return m->policy.space.item_observations > 0 ? 0 : m->policy.space.heads;
}

/* A file may be another one by now, so it is opened anew each time. The one that ships stays on its shelf. */
static bool model_load(px_policy *p, int32_t servers)
{
    ex_model own, *m = &own;
    int32_t exactly;

    memset(&own, 0, sizeof own);
    if (!p->setup.model_path[0]) m = ex_model_shelf(NULL);
    else if (!ex_model_open(p->setup.model_path, &own)) return false;
    if (!m) return false;
    exactly = made_for(m);
    p->network = NULL;
    if (exactly && exactly != servers) {
        ex_fail("%s is made for %d servers, here are %d", m->path, (int)exactly, (int)servers);
    } else {
        if (exactly) p->capacity = exactly;
        p->exact = exactly > 0;
        p->info = m->info;
        p->network = ex_model_network(m, p->capacity);
        if (!p->network) ex_fail("%s: cannot be made for %d servers", m->path, (int)p->capacity);
    }
    ex_model_close(&own);
    return p->network != NULL;
}

/* ---- the balancer ---------------------------------------------------------------------------------------------- */

static void describe(px_policy *p, const px_config *c, rllb_balancer_desc *d)
{
    const setup *s = &p->setup;

    rllb_balancer_desc_default(d);
    d->policy = by_table(s) ? RLLB_BALANCE_CHOOSE : (rllb_balance)rllb_balance_of(s->name);
    d->name = "proxy";
    d->capacity = p->capacity;
    d->seed = s->seed;
    d->interval_s = (float)s->interval_s;
    d->fallback = (rllb_balance)rllb_balance_of(s->fallback);
    d->reply_s = c->health_interval_s > 0.4 ? (float)(2.5 * c->health_interval_s) : 1;
    if (by_table(s)) {
        d->choose = rllb_qlearn_choose;
        d->choose_self = p->table;
    }
    if (by_model(s)) {
        ex_model_info_apply(&p->info, d);
        d->spread = 0; /* a few balancers, often with little to do: each hears of every server, and shares stay even */
        d->control = control;
        d->control_self = p;
        if (p->info.interval_s > 0) d->interval_s = p->info.interval_s;
    }
}

/* Zeroed, and aligned as the balancer wants it. */
static bool block_alloc(px_policy *p)
{
    p->block = NULL;
    if (!p->block_size || posix_memalign(&p->block, 64, p->block_size) != 0) return false;
    memset(p->block, 0, p->block_size);
    return true;
}

/* A block for that balancer; the handle comes from malloc too. */
static bool balancer_create(px_policy *p, rllb_balancer_desc *d)
{
    p->block_size = rllb_balancer_shared_size(d);
    if (block_alloc(p)) {
        d->shared = p->block;
        d->shared_size = p->block_size;
        p->balancer = rllb_balancer_create(d);
    }
    return p->balancer || ex_fail("policy %s: not enough memory", p->setup.name) == EX_OK;
}

static int32_t seats_used(const px_policy *p)
{
    int32_t j = PX_INDEXES_MOST;

    while (j > 0 && !p->seat[j - 1].name[0] && !p->seat[j - 1].active) j--;
    return j;
}

/* Puts in force what a seat's flags say. */
static void settle(px_policy *p, int32_t j, double t)
{
    seat *s = &p->seat[j];
    rllb_server_state state = s->down ? RLLB_SERVER_DOWN : s->drained ? RLLB_SERVER_DRAINING : RLLB_SERVER_UP;

    if (state != s->state) rllb_balancer_set_state(p->balancer, j, state, t);
    s->state = state;
    look_at(p, j);
}

/* What is under way, how long servers took of late, and who is not there (any more). */
static void hand_over(px_policy *p, double t)
{
    int32_t used = seats_used(p), j, k;

    for (j = 0; j < used; j++) {
        seat *s = &p->seat[j];
        if (s->name[0] && s->ends && rllb_balancer_started(p->balancer, j, t) == RLLB_OK) {
            rllb_balancer_done(p->balancer, j, t - 1e-3 * s->mean_ms, t, RLLB_OUTCOME_OK);
        }
        for (k = 0; k < s->active; k++) rllb_balancer_started(p->balancer, j, t);
    }
    for (j = 0; j < used; j++) {
        p->seat[j].state = RLLB_SERVER_UP;
        if (!p->seat[j].name[0]) rllb_balancer_remove(p->balancer, j, t);
        else settle(p, j, t);
    }
}

/* A balancer for the servers that have seats. */
static bool begin(px_policy *p, const px_config *c, double t)
{
    static rllb_server_desc servers[PX_INDEXES_MOST];
    rllb_balancer_desc d;
    int32_t j;

    describe(p, c, &d);
    d.count = seats_used(p);
    d.servers = servers;
    for (j = 0; j < d.count; j++) {
        servers[j].name = p->seat[j].name[0] ? p->seat[j].name : "gone";
        servers[j].weight = p->seat[j].name[0] ? p->seat[j].weight : 1;
    }
    if (!balancer_create(p, &d)) return false;
    hand_over(p, t);
    rllb_balancer_set_trust(p->balancer, p->shadow, (float)p->blend, t);
    return true;
}

/* ---- servers --------------------------------------------------------------------------------------------------- */

int32_t px_policy_server(const px_policy *p, const char *name)
{
    int32_t j;

    for (j = 0; j < p->capacity; j++) {
        if (strcmp(p->seat[j].name, name) == 0) return j;
    }
    return -1;
}

static bool configured(const px_config *c, const char *name)
{
    int32_t i;

    for (i = 0; i < c->server_count; i++) {
        if (strcmp(c->server[i].name, name) == 0) return true;
    }
    return false;
}

static void seat_take(seat *s, const px_server_config *server)
{
    int32_t i;

    memset(s, 0, sizeof *s);
    memcpy(s->name, server->name, sizeof s->name);
    s->weight = server->weight;
    s->state = RLLB_SERVER_UP;
    for (i = 0; i < METRICS; i++) s->said[i] = NAN;
}

/* Nobody has it, and nothing is under way there. */
static bool seat_is_free(const seat *s)
{
    return !s->name[0] && !s->active;
}

/* How many of the configured servers have no seat. */
static int32_t newcomers(const px_policy *p, const px_config *c)
{
    int32_t i, n = 0;

    for (i = 0; i < c->server_count; i++) n += px_policy_server(p, c->server[i].name) < 0;
    return n;
}

/* Those that went leave their seats, others get one. With a balancer it is told. False: there are too few. */
static bool seat_all(px_policy *p, const px_config *c, double t)
{
    int32_t i, j;

    for (j = 0; j < p->capacity; j++) {
        if (!p->seat[j].name[0] || configured(c, p->seat[j].name)) continue;
        p->seat[j].name[0] = '\0';
        if (p->balancer) rllb_balancer_remove(p->balancer, j, t);
    }
    for (i = 0; i < c->server_count; i++) {
        const px_server_config *s = &c->server[i];
        rllb_server_desc fresh = { s->name, s->weight };
        j = px_policy_server(p, s->name);
        if (j >= 0) {
            bool same = p->seat[j].weight >= s->weight && p->seat[j].weight <= s->weight;
            p->seat[j].weight = s->weight;
            if (p->balancer && !same) rllb_balancer_set_weight(p->balancer, j, s->weight, t);
            continue;
        }
        for (j = 0; j < p->capacity && !seat_is_free(&p->seat[j]); j++) {}
        if (j == p->capacity) return false;
        if (p->balancer && rllb_balancer_add(p->balancer, &fresh, t, &j) != RLLB_OK) return false;
        seat_take(&p->seat[j], s);
        look_at(p, j);
    }
    return true;
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

static int32_t capacity_for(const px_config *c)
{
    int32_t capacity = c->server_count + c->server_count / 2 + 16;

    if (strcmp(c->policy, "q_learning") == 0 && capacity > TABLE_SERVERS_MOST) capacity = TABLE_SERVERS_MOST;
    return capacity < PX_INDEXES_MOST ? capacity : PX_INDEXES_MOST;
}

/* Bytes that are not used are zero, so that setups can be compared whole. */
static void setup_of(const px_config *c, setup *s)
{
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", c->policy);
    snprintf(s->fallback, sizeof s->fallback, "%s", c->fallback);
    s->interval_s = c->interval_s;
    s->seed = c->seed;
    if (by_model(s)) snprintf(s->model_path, sizeof s->model_path, "%s", c->model);
    if (!by_table(s)) return;
    s->alpha = c->q_alpha;
    s->gamma = c->q_gamma;
    s->epsilon = c->q_epsilon;
    s->decay = c->q_decay;
    s->epsilon_min = c->q_epsilon_min;
    memcpy(s->levels, c->q_levels, sizeof s->levels);
}

/* What changes while the balancer stays. */
static void trust_take(px_policy *p, const px_config *c)
{
    if (p->shadow_configured != c->shadow) p->shadow = c->shadow; /* else the operator's switch stays as it is */
    p->shadow_configured = c->shadow;
    p->blend = c->blend;
}

static bool policy_ok(const px_config *c)
{
    int32_t policy = rllb_balance_of(c->policy);
    bool table = strcmp(c->policy, "q_learning") == 0;

    if (!table && (policy < 0 || policy >= (int32_t)RLLB_BALANCE_CHOOSE)) {
        return ex_fail("policy %s: none that a proxy can run", c->policy) == EX_OK;
    }
    if (table && c->server_count > TABLE_SERVERS_MOST) {
        return ex_fail("policy q_learning: its table bears %d servers, here are %d", TABLE_SERVERS_MOST,
                       (int)c->server_count) == EX_OK;
    }
    if (c->metrics == PX_METRICS_NONE && (policy == (int32_t)RLLB_BALANCE_AWCMP || policy == (int32_t)RLLB_BALANCE_C3 ||
                                          policy == (int32_t)RLLB_BALANCE_PREQUAL)) {
        ex_warn("policy %s goes by what servers say of themselves: nothing is asked (health PATH says=...)", c->policy);
    }
    return true;
}

/* Network or table, as the policy wants. */
static bool brain_create(px_policy *p, const px_config *c)
{
    if (by_model(&p->setup)) return model_load(p, c->server_count);
    return !by_table(&p->setup) || table_create(p);
}

/* ---- what was learned ------------------------------------------------------------------------------------------ */

static void state_of(const px_policy *p, double clock_s, ex_state *s)
{
    memset(s, 0, sizeof *s);
    snprintf(s->program, sizeof s->program, "proxy");
    memcpy(s->policy, p->setup.name, sizeof s->policy);
    s->capacity = p->capacity;
    s->clock_s = clock_s;
    s->names = p->seat->name;
    s->stride = sizeof *p->seat;
    s->block = p->block;
    s->block_bytes = p->block_size;
}

void *px_policy_state(px_policy *p, size_t *size)
{
    size_t table = p->table ? rllb_qlearn_saved_size(p->table) : 0;
    void *bytes = NULL, *more = table ? malloc(table) : NULL;
    ex_state s;

    state_of(p, clock_of(p, p->reward_s), &s);
    if (more && rllb_qlearn_save(p->table, more, table) == RLLB_OK) {
        s.more = more;
        s.more_bytes = table;
    }
    if (!table || s.more) bytes = ex_state_pack(&s, size);
    free(more);
    if (!bytes) ex_fail("not enough memory for the state");
    return bytes;
}

bool px_policy_save(px_policy *p, const char *path)
{
    size_t size;
    void *bytes = px_policy_state(p, &size);
    bool ok = bytes && ex_file_write(path, bytes, size);

    free(bytes);
    return ok;
}

/* The balancer that the file holds, with the servers it had. */
static const char *state_join(px_policy *p, const px_config *c, const ex_state *s)
{
    rllb_balancer_desc d;

    describe(p, c, &d);
    p->block_size = rllb_balancer_shared_size(&d);
    if (p->block_size != s->block_bytes) return "is of other settings or another model";
    if (!block_alloc(p)) return "takes more memory than there is";
    memcpy(p->block, s->block, p->block_size);
    d.shared = p->block;
    d.shared_size = p->block_size;
    d.join = true;
    p->balancer = rllb_balancer_create(&d);
    if (!p->balancer) return "is of other settings or another model";
    if (p->table && rllb_qlearn_load(p->table, s->more, s->more_bytes) != RLLB_OK) return "has a table of another kind";
    return NULL;
}

static void brain_destroy(px_policy *p)
{
    rllb_balancer_destroy(p->balancer);
    free(p->block);
    rllb_nn_policy_destroy(p->network);
    rllb_qlearn_destroy(p->table);
    p->balancer = NULL;
    p->block = NULL;
    p->network = NULL;
    p->table = NULL;
}

/* Servers as the joined balancer has them; then as configured. */
static bool state_seat(px_policy *p, const px_config *c, double t)
{
    rllb_server_info info;
    px_server_config s;
    int32_t j;

    rllb_balancer_resync(p->balancer, 0, t);
    for (j = 0; j < rllb_balancer_servers(p->balancer); j++) {
        rllb_balancer_server(p->balancer, j, &info);
        if (info.state == RLLB_SERVER_NONE) continue;
        memset(&s, 0, sizeof s);
        snprintf(s.name, sizeof s.name, "%s", info.name);
        s.weight = info.weight;
        seat_take(&p->seat[j], &s);
        rllb_balancer_set_state(p->balancer, j, RLLB_SERVER_UP, t);
    }
    if (!seat_all(p, c, t)) return false;
    rllb_balancer_set_trust(p->balancer, p->shadow, (float)p->blend, t);
    return true;
}

typedef enum found { FOUND, NOTHING, FAILED } found;

/* FOUND: goes on from the file. NOTHING: there is none, or it is of no use. */
static found state_find(px_policy *p, const px_config *c, double now_s)
{
    ex_text file = { NULL, 0, 0, false };
    ex_state wanted, there;
    const char *fault;
    bool brain = true;

    if (!c->state[0]) return NOTHING;
    state_of(p, 0, &wanted);
    if (ex_state_read(c->state, &wanted, &file, &there, &fault)) {
        p->capacity = there.capacity;
        p->offset_s = there.clock_s - now_s;
        if (p->capacity > PX_INDEXES_MOST) fault = "is damaged";
        else brain = brain_create(p, c);
        if (brain && !fault) fault = state_join(p, c, &there);
        if (brain && !fault && !state_seat(p, c, clock_of(p, now_s))) fault = "has no room for these servers";
    } else if (!fault) {
        return NOTHING;
    }
    ex_text_free(&file);
    if (!brain || !fault) return brain ? FOUND : FAILED;
    ex_warn("%s %s: what was learned before is not used", c->state, fault);
    brain_destroy(p);
    memset(p->seat, 0, sizeof p->seat);
    p->capacity = capacity_for(c);
    p->offset_s = 0;
    return NOTHING;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static bool start(px_policy *p, const px_config *c, double now_s)
{
    found state;

    p->capacity = capacity_for(c);
    p->reward_s = now_s;
    setup_of(c, &p->setup);
    trust_take(p, c);
    state = state_find(p, c, now_s);
    return state == FOUND || (state == NOTHING && brain_create(p, c) && seat_all(p, c, now_s) && begin(p, c, now_s));
}

bool px_policy_create(const px_config *c, double now_s, px_policy **out)
{
    *out = NULL;
    if (!policy_ok(c)) return false;
    *out = calloc(1, sizeof **out);
    if (!*out) return ex_fail("not enough memory") == EX_OK;
    if (start(*out, c, now_s)) return true;
    px_policy_destroy(*out);
    *out = NULL;
    return false;
}

void px_policy_destroy(px_policy *p)
{
    if (!p) return;
    brain_destroy(p);
    free(p);
}

/* Is there room for those that come, whether those that go leave in time or not? */
static bool room_for(const px_policy *p, const px_config *c)
{
    int32_t j, room = 0;

    for (j = 0; j < p->capacity; j++) room += seat_is_free(&p->seat[j]);
    return newcomers(p, c) <= room;
}

static bool same_names(const px_policy *p, const px_config *c)
{
    int32_t j, n = 0;

    for (j = 0; j < p->capacity; j++) n += p->seat[j].name[0] != '\0';
    return n == c->server_count && newcomers(p, c) == 0;
}

/* The same policy from a file that may have been written anew meanwhile: the balancer stays if it is set up alike. */
static bool model_again(px_policy *p, const px_config *c, bool *alike)
{
    rllb_nn_policy *before = p->network;
    ex_model_info info = p->info;

    if (!model_load(p, c->server_count)) {
        p->network = before;
        p->info = info;
        return false;
    }
    *alike = memcmp(&info, &p->info, offsetof(ex_model_info, algorithm)) == 0;
    rllb_nn_policy_destroy(before);
    return true;
}

/* What the table of the one before knows. A table for other servers begins anew. */
static void table_again(px_policy *p, const rllb_qlearn *before)
{
    size_t size = before && p->table ? rllb_qlearn_saved_size(before) : 0;
    void *bytes = size ? malloc(size) : NULL;
    bool ok = bytes && rllb_qlearn_save(before, bytes, size) == RLLB_OK;

    if (size && !(ok && rllb_qlearn_load(p->table, bytes, size) == RLLB_OK)) {
        ex_warn("policy q_learning: the table begins anew, for %d servers", (int)p->capacity);
    }
    free(bytes);
}

/* Room for those that come beside those that leave; a table keeps its size if it can. */
static bool capacity_grow(px_policy *p, const px_config *c, const setup *next)
{
    int32_t least = seats_used(p) + newcomers(p, c), fine = capacity_for(c);
    int32_t most = by_table(next) ? TABLE_SERVERS_MOST : PX_INDEXES_MOST;

    if (least > most) {
        return ex_fail("policy %s: no room for so many servers beside those that leave; try again later",
                       next->name) == EX_OK;
    }
    if (by_table(next) && p->table && p->capacity >= least) return true;
    p->capacity = fine > least ? fine : least;
    return true;
}

/* A new balancer in place of the old one, or all as before. */
static bool begin_anew(px_policy *p, const px_config *c, double t)
{
    px_policy *before = malloc(sizeof *before);
    bool ok;

    if (!before) return ex_fail("not enough memory") == EX_OK;
    *before = *p;
    setup_of(c, &p->setup);
    ok = capacity_grow(p, c, &p->setup);
    p->balancer = NULL;
    p->block = NULL;
    p->network = NULL;
    p->table = NULL;
    trust_take(p, c);
    ok = ok && brain_create(p, c);
    if (ok) table_again(p, before->table);
    ok = ok && seat_all(p, c, t) && begin(p, c, t);
    if (ok) {
        brain_destroy(before);
    } else {
        brain_destroy(p);
        *p = *before;
    }
    free(before);
    return ok;
}

bool px_policy_reload(px_policy *p, const px_config *c, double now_s)
{
    double t = clock_of(p, now_s);
    bool alike = true, exact;
    setup next;

    if (!policy_ok(c)) return false;
    setup_of(c, &next);
    exact = p->network && p->exact && !same_names(p, c);
    if (memcmp(&p->setup, &next, sizeof next) != 0 || !room_for(p, c) || exact) return begin_anew(p, c, t);
    if (p->network && !model_again(p, c, &alike)) return false;
    if (!alike) return begin_anew(p, c, t);
    trust_take(p, c);
    seat_all(p, c, t);
    rllb_balancer_set_trust(p->balancer, p->shadow, (float)p->blend, t);
    return true;
}

/* ---- attempts -------------------------------------------------------------------------------------------------- */

static bool taken(px_policy *p, int32_t j, double now_s, px_attempt *out)
{
    mark m;

    memset(out, 0, sizeof *out);
    out->server = j;
    out->started_s = now_s;
    if (j < 0) return false;
    p->seat[j].active++;
    if (!p->table) return true;
    memset(&m, 0, sizeof m);
    m.table = p->tables;
    m.step = rllb_qlearn_begin(p->table, j);
    memcpy(out->step, &m, sizeof m);
    look_at(p, j);
    return true;
}

bool px_policy_pick(px_policy *p, uint64_t key, double now_s, px_attempt *out)
{
    return taken(p, rllb_balancer_pick(p->balancer, key, clock_of(p, now_s)), now_s, out);
}

bool px_policy_pick_other(px_policy *p, const int32_t *tried, int32_t count, double now_s, px_attempt *out)
{
    return taken(p, rllb_balancer_pick_other(p->balancer, tried, count, clock_of(p, now_s)), now_s, out);
}

/* Older rewards fade. */
static void reward_fade(px_policy *p, double now_s)
{
    double age = now_s - p->reward_s;
    double kept = age > 0 ? exp(-age / REWARD_S) : 1;

    p->reward_sum *= kept;
    p->reward_count *= kept;
    if (age > 0) p->reward_s = now_s;
}

static void reward_add(px_policy *p, double elapsed_s, double now_s, rllb_outcome outcome)
{
    reward_fade(p, now_s);
    p->reward_sum += outcome == RLLB_OUTCOME_OK ? -100 * elapsed_s : -1000;
    p->reward_count += 1;
}

void px_policy_done(px_policy *p, const px_attempt *a, double now_s, rllb_outcome outcome)
{
    double elapsed_s = now_s - a->started_s;
    seat *s;
    mark m;

    if (a->server < 0 || a->server >= PX_INDEXES_MOST) return;
    s = &p->seat[a->server];
    if (s->active > 0) s->active--;
    rllb_balancer_done(p->balancer, a->server, clock_of(p, a->started_s), clock_of(p, now_s), outcome);
    if (outcome != RLLB_OUTCOME_CANCELLED) reward_add(p, elapsed_s, now_s, outcome);
    if (outcome == RLLB_OUTCOME_OK) {
        if (s->ends < LATE) s->ends++;
        s->mean_ms += (1000 * elapsed_s - s->mean_ms) / s->ends;
    }
    if (!p->table) return;
    look_at(p, a->server);
    memcpy(&m, a->step, sizeof m);
    if (m.table == p->tables) rllb_qlearn_done(p->table, &m.step, elapsed_s, outcome);
}

void px_policy_tick(px_policy *p, double now_s)
{
    rllb_balancer_tick(p->balancer, clock_of(p, now_s));
    reward_fade(p, now_s);
}

/* ---- what others say ------------------------------------------------------------------------------------------- */

static float known(double a, double b)
{
    return (float)(isnan(a) ? b : a);
}

void px_policy_health(px_policy *p, int32_t server, bool up, const px_said *said, double now_s)
{
    double t = clock_of(p, now_s);
    rllb_report report;
    seat *s;

    if (server < 0 || server >= p->capacity || !p->seat[server].name[0]) return;
    s = &p->seat[server];
    s->down = !up;
    if (said) {
        s->said[0] = (float)said->cpu;
        s->said[1] = known(said->active, said->busy);
        s->said[2] = (float)said->response_ms;
        report.in_flight = known(said->active, said->busy);
        report.latency_s = (float)(1e-3 * said->response_ms);
        report.utilisation = known(said->busy, isnan(said->cpu) ? said->active : said->cpu);
        rllb_balancer_report(p->balancer, server, &report, t);
    }
    settle(p, server, t);
}

void px_policy_shadow(px_policy *p, bool shadow, double now_s)
{
    p->shadow = shadow;
    rllb_balancer_set_trust(p->balancer, shadow, (float)p->blend, clock_of(p, now_s));
}

bool px_policy_drain(px_policy *p, int32_t server, bool drain, double now_s)
{
    if (server < 0 || server >= p->capacity || !p->seat[server].name[0]) return false;
    p->seat[server].drained = drain;
    settle(p, server, clock_of(p, now_s));
    return true;
}

rllb_balancer *px_policy_balancer(px_policy *p)
{
    return p->balancer;
}

const char *px_policy_name(const px_policy *p)
{
    return p->setup.name;
}

double px_policy_reward(const px_policy *p)
{
    return p->reward_count > 0.05 ? p->reward_sum / p->reward_count : (double)NAN;
}

bool px_policy_is_shadow(const px_policy *p)
{
    return p->shadow;
}
