/* mind.c - which client: a balancer of rllb.h, and behind it a rule or a model; what old metrics are worth

   Two handles on one block: worker 0 picks for the data thread, the other one is the keeper, for control. Where control
   tells the balancer what it knows of clients (AWCMP), its handle is a worker too, since telling is a worker's right.

   Policy "model" is a network of udp_train. The data thread never waits for it: control asks the network what it would
   choose for the next flows, and the data thread takes that plan in turn (udp.h). The network sees what its file says
   that it saw in training (docs/udp.md): shares of CPU, memory and network as of their latest sample, and, if it wants
   them, the flows given to the client since that sample was taken, over the flows of all clients in one of its
   intervals, and the time since over that interval, both cut at 4. Each choice of a plan counts as given before the
   next is made, and time moves on with it at the present rate. A plan is for AHEAD_S, made anew at every reading, when
   half of it is used, when somebody comes, goes or changes state, and when its time is over. Where so many flows come
   that a plan cannot hold them all, each of its choices stands for several.

   A row of the network is a client: those that are up, down or ejected, by their index; one that drains has none. Only
   usable ones are chosen. One that is not may be without metrics; then it counts as it was last seen, or as full.

   Old metrics are none. As long as one usable client has none, or there are more or fewer clients than the model is
   for, the fallback serves, by own counts. That is said when it has lasted for stale_s, and once; and again once when
   it has been over for stale_s, so that metrics on the edge of being old do not fill the log. */

#include "udp.h"

#include "cluster.h"
#include "models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU, MEMORY, NETWORK, SENT, AGE, COLUMNS };
enum { KEPT = 256, PLAN_LEAST = 64 };
#define MODEL_BYTES_MOST ((size_t)1 << 26)
#define AHEAD_S 0.3 /* control comes by ten times a second */
#define KEEP_S 0.05
#define CUT 4.0

static const char *const column_names[] = { "cpu", "memory", "network", "sent", "age", NULL };

typedef struct model {
    char path[UD_TEXT_MOST];
    rllb_nn_net *net;
    rllb_nn_work *work;
    int32_t clients, columns, column[COLUMNS]; /* what stands where in a row */
    double interval_s;
    bool counts; /* wants to know what was given since */
} model;

/* What is known of an index. */
typedef struct guest {
    char name[UD_NAME_MOST];
    bool here, usable, fresh; /* here: has a row; fresh: its metrics */
    double came_s;
    ud_shares shares;         /* the latest that were known */
} guest;

/* How many flows each had been given, at some time. */
typedef struct tally {
    double at_s;
    uint64_t flows[UD_CLIENTS_MOST];
} tally;

/* Why the fallback serves. */
typedef enum lack { LACKS_NOTHING, LACKS_YET, LACKS_METRICS, LACKS_FIT } lack;

struct ud_mind {
    rllb_balance policy;
    bool by_model, by_metrics;
    char fallback[32];
    double stale_s;
    rllb_balancer *worker, *keeper;
    void *block;
    size_t block_size;
    rllb_nn_policy *network; /* of policy learned */
    model model;
    ud_plans plans;

    guest guest[UD_CLIENTS_MOST];
    int32_t row[UD_CLIENTS_MOST], rows; /* who has which */
    bool changed;                       /* who they are, since the last plan */
    tally now, *tally;                  /* [KEPT], a ring */
    int32_t kept, newest;
    double planned_s, planned_flows;
    uint64_t turn;                      /* of the metrics, as of the last look */

    bool blind;
    lack told;
    double unfit_s, well_s; /* since when there are too many or too few; since when nothing lacks; NaN: not so */
};

/* ---- the model --------------------------------------------------------------------------------------------------- */

static bool meta_of(const ex_text *file, const char *path, const char *key, char text[96])
{
    rllb_status status = rllb_nn_file_meta(file->data, file->size, key, text, 96);

    if (status == RLLB_OK) return true;
    return ex_fail("%s: is no model that allocates: its metadata has no '%s'%s", path, key,
                   status == RLLB_ERROR_MISSING ? "" : " that can be read") == EX_OK;
}

/* "cpu,memory,network,sent,age", in any order. */
static bool inputs_of(const char *path, char *text, model *out)
{
    char *at = text, *end;
    int32_t i, k;

    for (out->columns = 0; at; at = end ? end + 1 : NULL) {
        end = strchr(at, ',');
        if (end) *end = '\0';
        for (i = 0; column_names[i] && strcmp(at, column_names[i]) != 0; i++) {}
        if (!column_names[i]) {
            return ex_fail("%s: wants the input '%s'; here are cpu, memory, network, sent, age", path, at) == EX_OK;
        }
        for (k = 0; k < out->columns; k++) {
            if (out->column[k] == i) return ex_fail("%s: wants the input '%s' twice", path, at) == EX_OK;
        }
        out->column[out->columns++] = i;
        out->counts = out->counts || i == SENT || i == AGE;
    }
    return true;
}

/* What a file of udp_train says of itself. */
static bool metadata_of(const ex_text *file, const char *path, model *out)
{
    char text[96];
    int64_t clients;

    if (!meta_of(file, path, "env", text)) return false;
    if (strcmp(text, "metrics") != 0) {
        return ex_fail("%s: is no model that allocates: its env is '%s', should be 'metrics'", path, text) == EX_OK;
    }
    if (!meta_of(file, path, "units", text)) return false;
    if (strcmp(text, "share") != 0) {
        return ex_fail("%s: wants metrics in units of '%s'; here they are shares, 'share'", path, text) == EX_OK;
    }
    if (!meta_of(file, path, "clients", text)) return false;
    if (!ex_parse_int64(text, &clients) || clients < 2 || clients > UD_CLIENTS_MOST) {
        return ex_fail("%s: clients is '%s', should be 2 to %d", path, text, (int)UD_CLIENTS_MOST) == EX_OK;
    }
    out->clients = (int32_t)clients;
    if (!meta_of(file, path, "interval_s", text)) return false;
    if (!ex_parse_double(text, &out->interval_s) || !(out->interval_s >= 0.001 && out->interval_s <= 3600)) {
        return ex_fail("%s: interval_s is '%s', should be 0.001 to 3600", path, text) == EX_OK;
    }
    return meta_of(file, path, "inputs", text) && inputs_of(path, text, out);
}

static bool network_of(const ex_text *file, const char *path, model *out)
{
    int32_t inputs = out->clients * out->columns;
    char why[EX_NET_WHY];
    rllb_nn_net_desc d;
    rllb_status status = rllb_nn_net_desc_load(file->data, file->size, "", &d);

    if (status != RLLB_OK) return ex_fail("%s: holds no network: %s", path, rllb_status_words(status)) == EX_OK;
    if (d.gru > 0 || d.item_inputs > 0 || d.inputs != inputs || d.outputs != out->clients) {
        return ex_fail("%s: its network, of %d inputs and %d outputs, is not one for %d clients with %d inputs each",
                       path, (int)d.inputs, (int)d.outputs, (int)out->clients, (int)out->columns) == EX_OK;
    }
    out->net = rllb_nn_net_create(&d);
    out->work = out->net ? rllb_nn_work_create(out->net, 1, false) : NULL;
    if (!out->work) return ex_fail("%s: not enough memory for its network", path) == EX_OK;
    return ex_net_fill(out->net, file, why) || ex_fail("%s: %s", path, why) == EX_OK;
}

static bool model_open(const char *path, model *out)
{
    rllb_logger logger = { ex_detail_log, NULL };
    ex_text file = { NULL, 0, 0, false };
    ex_detail detail = { "" };
    bool ok;

    logger.user = &detail;
    snprintf(out->path, sizeof out->path, "%s", path);
    if (!path[0]) {
        ex_usage("model", "policy model: which file?");
        return false;
    }
    if (!ex_file_read(path, MODEL_BYTES_MOST, &file)) return false;
    ok = rllb_nn_file_check(file.data, file.size, &logger) == RLLB_OK;
    if (!ok) ex_fail("%s: is no whole model file: %s", path, detail.text[0] ? detail.text : "it has no header");
    ok = ok && metadata_of(&file, path, out) && network_of(&file, path, out);
    ex_text_free(&file);
    return ok;
}

/* A list of clients that the model is not for will not be right later either. */
static bool model_fits(const model *o, const ud_config *c)
{
    const char *at = c->clients;
    int32_t n = 1;

    if (c->interval_s > 0 && (c->interval_s > 1.5 * o->interval_s || c->interval_s < o->interval_s / 1.5)) {
        ex_warn("%s was trained on samples every %g s; here they come every %g s", o->path, o->interval_s,
                c->interval_s);
    }
    if (!at[0] || strncmp(at, "dns:", 4) == 0 || strncmp(at, "nomad:", 6) == 0) return true;
    for (; *at; at++) n += *at == ',';
    return n == o->clients || ex_fail("%s is a model for %d clients, here are %d", o->path, (int)o->clients,
                                      (int)n) == EX_OK;
}

/* Only a set policy: clients come and go. */
static bool learned_open(ud_mind *m, const ud_config *c, rllb_balancer_desc *d)
{
    ex_model own, *o = &own;
    ex_model_info info;

    memset(&own, 0, sizeof own);
    if (!c->model[0]) o = ex_model_shelf(NULL);
    else if (!ex_model_open(c->model, &own)) return false;
    if (!o) return false;
    info = o->info;
    if (o->policy.space.item_observations <= 0) {
        ex_fail("%s is made for a fixed number of servers: policy learned needs one for any", o->path);
    } else {
        m->network = ex_model_network(o, UD_CLIENTS_MOST);
        if (!m->network) ex_fail("%s: cannot be made for %d clients", o->path, (int)UD_CLIENTS_MOST);
    }
    ex_model_close(&own);
    if (!m->network) return false;
    ex_model_info_apply(&info, d);
    d->spread = 0; /* one balancer, which hears of every client */
    d->control = rllb_nn_policy_control;
    d->control_self = m->network;
    if (info.interval_s > 0) d->interval_s = info.interval_s;
    return true;
}

/* ---- the balancer ------------------------------------------------------------------------------------------------ */

static bool policy_of(ud_mind *m, const ud_config *c)
{
    int32_t policy = rllb_balance_of(c->policy);

    m->by_model = strcmp(c->policy, "model") == 0;
    if (m->by_model) policy = (int32_t)RLLB_BALANCE_CHOOSE;
    else if (policy >= (int32_t)RLLB_BALANCE_CHOOSE) policy = -1; /* your own rule, and what only simulators see */
    if (policy < 0) {
        ex_usage("policy", "'%s' is none that allocates; model, sed, lsq, maglev and others of rllb.h do", c->policy);
        return false;
    }
    m->policy = (rllb_balance)policy;
    m->by_metrics = m->by_model || m->policy == RLLB_BALANCE_AWCMP;
    if (m->by_metrics && !c->source[0]) {
        ex_usage("source", "policy %s goes by metrics of the clients: where are they?", c->policy);
        return false;
    }
    return true;
}

static bool fallback_of(ud_mind *m, const ud_config *c, rllb_balancer_desc *d)
{
    int32_t how = c->fallback[0] ? rllb_balance_of(c->fallback) : (int32_t)RLLB_BALANCE_SED;
    bool ok = how >= 0 && how <= (int32_t)RLLB_BALANCE_WCMP;

    ok = ok || (how >= (int32_t)RLLB_BALANCE_P2C && how <= (int32_t)RLLB_BALANCE_JIQ);
    if (!ok) {
        ex_usage("fallback", "'%s' is none that goes by own counts; sed, lsq, round_robin and others do", c->fallback);
        return false;
    }
    d->fallback = (rllb_balance)how;
    snprintf(m->fallback, sizeof m->fallback, "%s", rllb_balance_name(d->fallback));
    return true;
}

/* A datagram is not sent twice, and nobody can be asked to send it again. So any number of clients may be out, as long
   as one is in; when none is, all that were only ejected are in again. A model knows all clients by their metrics and
   needs no datagram to find out. */
static void describe(const ud_mind *m, const ud_config *c, rllb_balancer_desc *d)
{
    d->policy = m->policy;
    d->name = "udp";
    d->capacity = UD_CLIENTS_MOST;
    d->seed = c->seed;
    d->workers = m->policy == RLLB_BALANCE_AWCMP ? 2 : 1;
    d->guard.eject_share = RLLB_OFF;
    d->guard.panic = RLLB_OFF;
    if (m->by_model) d->guard.minimum_share = RLLB_OFF;
    d->shadow = m->by_metrics; /* until there are metrics */
}

static bool balancer_create(ud_mind *m, rllb_balancer_desc *d)
{
    m->block_size = rllb_balancer_shared_size(d);
    m->block = NULL;
    if (!m->block_size || posix_memalign(&m->block, 64, m->block_size) != 0) return false;
    memset(m->block, 0, m->block_size);
    d->shared = m->block;
    d->shared_size = m->block_size;
    m->worker = rllb_balancer_create(d);
    d->join = true;
    d->worker = d->workers > 1 ? 1 : -1;
    m->keeper = m->worker ? rllb_balancer_create(d) : NULL;
    return m->keeper != NULL;
}

static bool begin(ud_mind *m, const ud_config *c, double now_s)
{
    rllb_balancer_desc d;

    if (!policy_of(m, c)) return false;
    rllb_balancer_desc_default(&d);
    describe(m, c, &d);
    if (!fallback_of(m, c, &d)) return false;
    if (m->by_model) {
        if (!model_open(c->model, &m->model) || !model_fits(&m->model, c)) return false;
        d.choose = ud_plan_choose;
        d.choose_self = &m->plans;
    }
    if (m->policy == RLLB_BALANCE_LEARNED && !learned_open(m, c, &d)) return false;
    if (m->by_model) m->tally = calloc(KEPT, sizeof *m->tally);
    if ((m->by_model && !m->tally) || !balancer_create(m, &d)) return ex_fail("not enough memory to decide") == EX_OK;
    rllb_balancer_tick(m->keeper, now_s);
    return true;
}

bool ud_mind_create(const ud_config *c, double now_s, ud_mind **out)
{
    ud_mind *m = calloc(1, sizeof *m);

    *out = NULL;
    if (!m) return ex_fail("not enough memory to decide") == EX_OK;
    ud_plan_open(&m->plans);
    m->stale_s = c->stale_s > 0 ? c->stale_s : 3;
    m->unfit_s = m->well_s = (double)NAN;
    if (!begin(m, c, now_s)) {
        ud_mind_destroy(m);
        return false;
    }
    m->blind = m->by_metrics;
    *out = m;
    return true;
}

void ud_mind_destroy(ud_mind *m)
{
    if (!m) return;
    rllb_balancer_destroy(m->keeper);
    rllb_balancer_destroy(m->worker);
    free(m->block);
    rllb_nn_policy_destroy(m->network);
    rllb_nn_work_destroy(m->model.work);
    rllb_nn_net_destroy(m->model.net);
    free(m->tally);
    free(m);
}

rllb_balancer *ud_mind_worker(ud_mind *m)
{
    return m->worker;
}

rllb_balancer *ud_mind_keeper(ud_mind *m)
{
    return m->keeper;
}

bool ud_mind_blind(const ud_mind *m)
{
    return m->blind;
}

/* ---- who is there, and what is known of them --------------------------------------------------------------------- */

static void look_at(ud_mind *m, int32_t j, const rllb_server_info *info, const ud_metrics *metrics, double now_s)
{
    guest *g = &m->guest[j];
    bool here = info->state == RLLB_SERVER_UP || info->state == RLLB_SERVER_DOWN || info->state == RLLB_SERVER_EJECTED;
    bool usable = here && info->usable;
    ud_shares s;

    if (here && (!g->here || strcmp(g->name, info->name) != 0)) {
        memset(g, 0, sizeof *g);
        memcpy(g->name, info->name, sizeof g->name);
        g->came_s = now_s;
        m->changed = true;
    }
    m->changed = m->changed || here != g->here || usable != g->usable;
    g->here = here;
    g->usable = usable;
    g->fresh = false;
    if (!here) return;
    memset(&s, 0, sizeof s);
    if (metrics) ud_metrics_shares(metrics, j, now_s, &s);
    g->fresh = s.known;
    if (s.known) g->shares = s;
    m->row[m->rows++] = j;
}

static void look(ud_mind *m, const ud_metrics *metrics, const ud_board *board, double now_s)
{
    int32_t j, used = rllb_balancer_servers(m->keeper);
    rllb_server_info info;

    m->rows = 0;
    m->now.at_s = now_s;
    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        memset(&info, 0, sizeof info);
        if (j < used) rllb_balancer_server(m->keeper, j, &info);
        m->now.flows[j] = board ? ud_load(&board->seat[j].flows) : 0;
        if (j < used || m->guest[j].here) look_at(m, j, &info, metrics, now_s);
    }
}

/* Counts are kept for as long as metrics may be old. */
static void remember(ud_mind *m, double now_s)
{
    double every_s = (m->stale_s + 1) / (KEPT - 2);

    if (every_s < KEEP_S) every_s = KEEP_S;
    if (m->kept && now_s - m->tally[m->newest].at_s < every_s) return;
    m->newest = m->kept ? (m->newest + 1) % KEPT : 0;
    m->tally[m->newest] = m->now;
    if (m->kept < KEPT) m->kept++;
}

static const tally *tally_before(const ud_mind *m, int32_t i)
{
    return &m->tally[(m->newest + KEPT - i) % KEPT];
}

static double between(uint64_t then, uint64_t now)
{
    return now > then ? (double)(now - then) : 0;
}

/* Flows given to an index since then; between two counts as if they had come evenly. */
static double given_since(const ud_mind *m, int32_t j, double then_s)
{
    const tally *after = &m->now;
    double given = 0;
    int32_t i;

    for (i = 0; i < m->kept && then_s < after->at_s; i++) {
        const tally *before = tally_before(m, i);
        double flows = between(before->flows[j], after->flows[j]);
        if (before->at_s <= then_s) return given + flows * (after->at_s - then_s) / (after->at_s - before->at_s);
        given += flows;
        after = before;
    }
    return given;
}

/* Flows a second of all clients together, of late. */
static double rate_of(const ud_mind *m)
{
    double window_s = 2 * m->model.interval_s, elapsed_s, flows = 0;
    const tally *then = &m->now;
    int32_t i, j;

    if (window_s < 1) window_s = 1;
    if (window_s > 10) window_s = 10;
    for (i = 0; i < m->kept && m->now.at_s - then->at_s < window_s; i++) then = tally_before(m, i);
    elapsed_s = m->now.at_s - then->at_s;
    for (j = 0; j < UD_CLIENTS_MOST; j++) flows += between(then->flows[j], m->now.flows[j]);
    return elapsed_s > 0 ? flows / elapsed_s : 0;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* What the network is shown, row by row. */
typedef struct sight {
    float x[UD_CLIENTS_MOST * COLUMNS];
    double given[UD_CLIENTS_MOST], age_s[UD_CLIENTS_MOST];
} sight;

static float cut(double value, double most)
{
    return (float)(value < 0 ? 0 : value > most ? most : value);
}

static void sight_open(const ud_mind *m, sight *s, double now_s)
{
    int32_t r;

    for (r = 0; r < m->rows; r++) {
        const guest *g = &m->guest[m->row[r]];
        double since_s = g->shares.known ? g->shares.at_s : now_s;
        if (since_s < g->came_s) since_s = g->came_s; /* what was given to who had this index before is not its load */
        s->given[r] = given_since(m, m->row[r], since_s);
        s->age_s[r] = g->shares.known ? now_s - g->shares.at_s : CUT * m->model.interval_s;
    }
}

/* As it is after so long. flows: of all clients, in an interval. */
static void sight_show(const ud_mind *m, sight *s, double flows, double ahead_s)
{
    const model *o = &m->model;
    int32_t r, c;

    for (r = 0; r < m->rows; r++) {
        const ud_shares *known = &m->guest[m->row[r]].shares;
        float column[COLUMNS];
        column[CPU] = known->known ? cut(known->cpu, 1) : 1;
        column[MEMORY] = known->known ? cut(known->memory, 1) : 1;
        column[NETWORK] = known->known ? cut(known->network, 1) : 1;
        column[SENT] = cut(s->given[r] / flows, CUT);
        column[AGE] = cut((s->age_s[r] + ahead_s) / o->interval_s, CUT);
        for (c = 0; c < o->columns; c++) s->x[r * o->columns + c] = column[o->column[c]];
    }
}

/* The row of most value that is usable; -1: none is. */
static int32_t best_of(const ud_mind *m, const float *value)
{
    int32_t r, best = -1;

    for (r = 0; r < m->rows; r++) {
        if (!m->guest[m->row[r]].usable) continue;
        if (best < 0 || value[r] > value[best] || isnan(value[best])) best = r;
    }
    return best;
}

static void plan(ud_mind *m, double now_s)
{
    double rate = rate_of(m), flows = rate * m->model.interval_s, each = rate * AHEAD_S / UD_PLAN_MOST, ahead_s;
    int32_t client[UD_PLAN_MOST], count = 0, wanted, best;
    float value[UD_CLIENTS_MOST];
    sight s;

    if (flows < 1) flows = 1;
    if (each < 1) each = 1;
    wanted = (int32_t)ceil(rate * AHEAD_S / each);
    if (wanted < PLAN_LEAST) wanted = PLAN_LEAST;
    if (wanted > UD_PLAN_MOST) wanted = UD_PLAN_MOST;
    sight_open(m, &s, now_s);
    for (; count < wanted; count++) {
        ahead_s = rate > 0 && count * each < rate * AHEAD_S ? count * each / rate : AHEAD_S;
        sight_show(m, &s, flows, rate > 0 ? ahead_s : 0);
        rllb_nn_forward(m->model.net, m->model.work, s.x, 1, value);
        best = best_of(m, value);
        if (best < 0) break;
        client[count] = m->row[best];
        s.given[best] += each;
    }
    ud_plan_publish(&m->plans, client, count);
    m->planned_s = now_s;
    m->planned_flows = count * each;
    m->changed = false;
}

static bool plan_is_due(const ud_mind *m, bool heard, double now_s)
{
    if (heard || m->changed) return true;
    if ((double)ud_plan_used(&m->plans) >= m->planned_flows / 2) return true;
    return m->model.counts && now_s - m->planned_s >= AHEAD_S;
}

/* ---- old metrics ------------------------------------------------------------------------------------------------- */

static double heard_s(const guest *g)
{
    return g->shares.known ? g->shares.at_s : g->came_s;
}

/* What lacks, and with whom: of several the one whose metrics are oldest. */
static lack lacking(ud_mind *m, double now_s, int32_t *whom)
{
    bool fits = !m->by_model || m->rows == m->model.clients;
    int32_t r;

    *whom = -1;
    if (fits) m->unfit_s = (double)NAN;
    else if (isnan(m->unfit_s)) m->unfit_s = now_s;
    if (!fits) return now_s - m->unfit_s > m->stale_s ? LACKS_FIT : LACKS_YET;
    for (r = 0; r < m->rows; r++) {
        const guest *g = &m->guest[m->row[r]];
        if (!g->usable || g->fresh) continue;
        if (*whom < 0 || heard_s(g) < heard_s(&m->guest[*whom])) *whom = m->row[r];
    }
    if (*whom < 0) return m->rows ? LACKS_NOTHING : LACKS_YET;
    return now_s - heard_s(&m->guest[*whom]) > m->stale_s ? LACKS_METRICS : LACKS_YET;
}

static const char *policy_name(const ud_mind *m)
{
    return m->by_model ? "model" : rllb_balance_name(m->policy);
}

static void tell(ud_mind *m, lack what, int32_t whom, double now_s)
{
    const guest *g = whom < 0 ? NULL : &m->guest[whom];

    if (what != LACKS_NOTHING) m->well_s = (double)NAN;
    else if (isnan(m->well_s)) m->well_s = now_s;
    if (what == LACKS_NOTHING && m->told != LACKS_NOTHING && now_s - m->well_s >= m->stale_s) {
        ex_warn("metrics of all clients are known again: policy %s serves", policy_name(m));
        m->told = LACKS_NOTHING;
    }
    if (what <= LACKS_YET || what == m->told) return;
    m->told = what;
    if (what == LACKS_FIT) {
        ex_warn("%s is a model for %d clients, here are %d: policy %s serves", m->model.path, (int)m->model.clients,
                (int)m->rows, m->fallback);
    } else if (g) {
        ex_warn("no metrics of %s for %.1f s: policy %s serves until they come", g->name, now_s - heard_s(g),
                m->fallback);
    }
}

static void trust(ud_mind *m, bool blind, double now_s)
{
    if (blind == m->blind) return;
    m->blind = blind;
    if (blind) ud_plan_publish(&m->plans, NULL, 0);
    rllb_balancer_set_trust(m->keeper, blind, 1, now_s);
}

/* ---- the turn ---------------------------------------------------------------------------------------------------- */

static void report(ud_mind *m, double now_s)
{
    rllb_report told = { NAN, NAN, 0 };
    int32_t r;

    for (r = 0; r < m->rows; r++) {
        const guest *g = &m->guest[m->row[r]];
        if (!g->fresh) continue;
        told.utilisation = cut(g->shares.cpu, 1e6);
        rllb_balancer_report(m->keeper, m->row[r], &told, now_s);
    }
}

void ud_mind_turn(ud_mind *m, const ud_metrics *metrics, const ud_board *board, double now_s)
{
    uint64_t turn = metrics ? ud_metrics_turn(metrics) : 0;
    bool heard = turn != m->turn;
    int32_t whom;
    lack what;

    if (!m->by_metrics) {
        rllb_balancer_tick(m->keeper, now_s);
        return;
    }
    m->turn = turn;
    look(m, metrics, board, now_s);
    what = lacking(m, now_s, &whom);
    if (m->policy == RLLB_BALANCE_AWCMP && heard) report(m, now_s);
    rllb_balancer_tick(m->keeper, now_s);
    if (m->by_model) remember(m, now_s);
    if (m->by_model && what == LACKS_NOTHING && (m->blind || plan_is_due(m, heard, now_s))) plan(m, now_s);
    trust(m, what != LACKS_NOTHING, now_s); /* the plan first: it serves from then on */
    tell(m, what, whom, now_s);
}
