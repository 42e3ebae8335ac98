/* cluster.c - see cluster.h */

#define RLLB_IMPLEMENTATION
#include "cluster.h"

#include "arrivals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ex_mode_names[] = { "seed0", "honest", NULL };
const char *const ex_traffic_names[] = { "low", "high", "bursty", "trace", NULL };
const char *const ex_isa_names[] = { "default", "generic", "sse2", "avx2", "avx512", "neon", NULL };

/* ---- the world --------------------------------------------------------------------------------------------- */

bool ex_world_open(ex_world *w)
{
    rllb_env_cluster_desc d, resolved;
    rllb_env_cluster *c;
    int32_t i;

    w->servers = w->rates.count;
    for (i = 0; i < w->servers; i++) w->rate[i] = (float)w->rates.values[i];
    w->trace = NULL;
    d = ex_world_desc(w, RLLB_ENV_LOW);
    c = rllb_env_cluster_create(&d);
    if (!c) {
        ex_fail("the cluster could not be made: out of memory");
        return false;
    }
    rllb_env_cluster_query(c, &resolved);
    w->servers = resolved.servers;
    for (i = 0; i < w->servers; i++) w->rate[i] = resolved.rates[i];
    rllb_env_cluster_destroy(c);
    if (!w->trace_path) return true;
    w->trace = ex_trace_read(w->trace_path);
    return w->trace != NULL;
}

void ex_world_close(ex_world *w)
{
    rllb_env_trace_destroy(w->trace);
    w->trace = NULL;
}

rllb_env_cluster_desc ex_world_desc(const ex_world *w, rllb_env_traffic traffic)
{
    rllb_env_cluster_desc d;

    rllb_env_cluster_desc_default(&d);
    d.mode = (rllb_env_mode)w->mode;
    d.traffic = traffic;
    d.servers = w->servers;
    d.rates = w->servers > 0 ? w->rate : NULL;
    d.trace = w->trace;
    return d;
}

const char *ex_rates_text(const float *rates, int32_t servers, char out[512])
{
    char number[32];
    size_t used = 0;
    int32_t i;

    out[0] = '\0';
    for (i = 0; i < servers && used + sizeof number + 2 < 512; i++) {
        int n = snprintf(out + used, 512 - used, "%s%s", i ? "," : "", ex_number_float(rates[i], number));
        used += (size_t)n;
    }
    return out;
}

/* ---- judging ----------------------------------------------------------------------------------------------- */

enum { WAVE = 256 }; /* environments at a time: their arrays stay in the cache */

typedef struct court {
    rllb_env_cluster *env;
    rllb_policy **policies; /* [WAVE], for classical ones: round robin counts in each episode for itself */
    rllb_nn_work *work;
    int32_t *actions;
    float *rewards, *seen, *values, *loads; /* loads: of all steps, for the percentile */
    uint8_t *terminated, *truncated, *over;
    size_t load_count;
} court;

static void court_close(court *c)
{
    int32_t i;

    for (i = 0; c->policies && i < WAVE; i++) rllb_policy_destroy(c->policies[i]);
    free(c->policies);
    rllb_env_cluster_destroy(c->env);
    rllb_nn_work_destroy(c->work);
    free(c->actions);
    free(c->rewards);
    free(c->seen);
    free(c->values);
    free(c->loads);
    free(c->terminated);
    free(c->truncated);
    free(c->over);
}

static bool court_open(court *c, const rllb_env_cluster_desc *world, const ex_judged *who, int32_t episodes,
                       uint64_t seed)
{
    rllb_env_cluster_desc d = *world, full;
    int32_t i;

    memset(c, 0, sizeof *c);
    d.environments = WAVE;
    d.auto_reset = false;
    c->env = rllb_env_cluster_create(&d);
    if (!c->env) return false;
    rllb_env_cluster_query(c->env, &full);
    c->actions = calloc(WAVE, sizeof *c->actions);
    c->rewards = calloc(WAVE, sizeof *c->rewards);
    c->seen = calloc((size_t)WAVE * ((size_t)full.servers + 1), sizeof *c->seen);
    c->values = calloc((size_t)WAVE * (size_t)full.servers, sizeof *c->values);
    c->loads = calloc((size_t)episodes * (size_t)full.horizon * (size_t)full.servers, sizeof *c->loads);
    c->terminated = calloc(WAVE, 1);
    c->truncated = calloc(WAVE, 1);
    c->over = calloc(WAVE, 1);
    if (!c->actions || !c->rewards || !c->seen || !c->values || !c->loads) return false;
    if (!c->terminated || !c->truncated || !c->over) return false;
    if (who->net) {
        c->work = rllb_nn_work_create(who->net, WAVE, false);
        return c->work != NULL;
    }
    c->policies = calloc(WAVE, sizeof *c->policies);
    for (i = 0; c->policies && i < WAVE; i++) {
        rllb_policy_desc p;
        rllb_policy_desc_default(&p);
        p.kind = who->kind;
        p.servers = full.servers;
        p.weights = full.rates;
        p.work = (float)rllb_env_cluster_mean_arrival(c->env);
        p.seed = seed;
        p.stream = (uint64_t)i;
        c->policies[i] = rllb_policy_create(&p);
        if (!c->policies[i]) return false;
    }
    return c->policies != NULL;
}

void ex_observe(const rllb_env_cluster *env, int32_t environments, int32_t servers, int32_t inputs, float *out)
{
    const float *load = rllb_env_cluster_observe(env), *arrival = rllb_env_cluster_arrival(env);
    int32_t e;

    for (e = 0; e < environments; e++) {
        memcpy(out + e * inputs, load + e * servers, (size_t)servers * sizeof *out);
        if (inputs > servers) out[e * inputs + servers] = arrival[e];
    }
}

static void decide(court *c, const ex_judged *who, int32_t inputs, int32_t live, int32_t servers)
{
    const float *load = rllb_env_cluster_observe(c->env);
    int32_t e, i;

    if (who->net) {
        ex_observe(c->env, live, servers, inputs, c->seen);
        rllb_nn_forward(who->net, c->work, c->seen, live, c->values);
        for (e = 0; e < live; e++) {
            const float *value = c->values + e * servers;
            int32_t best = 0;
            for (i = 1; i < servers; i++) {
                if (value[i] > value[best] || value[best] != value[best]) best = i;
            }
            c->actions[e] = best;
        }
        return;
    }
    for (e = 0; e < live; e++) c->actions[e] = rllb_policy_choose(c->policies[e], load + e * servers);
}

/* The sums over all steps that become means at the end. */
typedef struct sums {
    double steps, survived, mean, deviation, arrived, dropped, overloads;
} sums;

static void look(court *c, int32_t live, int32_t servers, sums *s)
{
    const float *next = rllb_env_cluster_observe_next(c->env);
    int32_t e, i;

    for (e = 0; e < live; e++) {
        double mean = 0, variance = 0;
        if (c->over[e]) continue;
        for (i = 0; i < servers; i++) {
            c->loads[c->load_count++] = next[e * servers + i];
            mean += (double)next[e * servers + i];
        }
        mean /= servers;
        for (i = 0; i < servers; i++) {
            double d = (double)next[e * servers + i] - mean;
            variance += d * d;
        }
        s->mean += mean;
        s->deviation += sqrt(variance / servers);
        s->steps++;
        c->over[e] = c->terminated[e] || c->truncated[e];
        if (c->over[e]) s->survived += !c->terminated[e];
    }
}

bool ex_judge(const rllb_env_cluster_desc *world, const ex_judged *who, int32_t episodes, uint64_t seed,
              uint64_t stream, ex_score *out)
{
    rllb_env_cluster_desc full;
    rllb_nn_net_desc shape;
    rllb_stats returns;
    court c;
    sums s;
    int32_t first, e;

    memset(out, 0, sizeof *out);
    memset(&s, 0, sizeof s);
    memset(&returns, 0, sizeof returns);
    snprintf(out->name, sizeof out->name, "%s", who->name);
    out->episodes = episodes;
    out->returns = calloc((size_t)episodes, sizeof *out->returns);
    out->dropped = calloc((size_t)episodes, sizeof *out->dropped);
    if (!out->returns || !out->dropped || !court_open(&c, world, who, episodes, seed)) {
        if (out->returns && out->dropped) court_close(&c);
        ex_score_free(out);
        ex_fail("no memory for %d episodes at once", (int)episodes);
        return false;
    }
    rllb_env_cluster_query(c.env, &full);
    memset(&shape, 0, sizeof shape);
    if (who->net) rllb_nn_net_query(who->net, &shape);
    for (first = 0; first < episodes; first += WAVE) {
        int32_t live = episodes - first < WAVE ? episodes - first : WAVE, ended = 0;
        rllb_env_cluster_reset_seed(c.env, seed, stream + (uint64_t)first);
        memset(c.over, 0, WAVE);
        for (e = 0; c.policies && e < live; e++) rllb_policy_reset(c.policies[e]);
        while (ended < WAVE) { /* those past `live` run along: they cost little and are not looked at */
            decide(&c, who, shape.inputs, live, full.servers);
            ended += rllb_env_cluster_step(c.env, c.actions, c.rewards, c.terminated, c.truncated);
            look(&c, live, full.servers, &s);
            for (e = 0; e < live; e++) out->returns[first + e] += (double)c.rewards[e];
        }
        for (e = 0; e < live; e++) {
            double arrived = rllb_env_cluster_arrived_total(c.env)[e];
            double dropped = rllb_env_cluster_dropped_total(c.env)[e];
            out->dropped[first + e] = arrived > 0 ? dropped / arrived : 0;
            s.arrived += arrived;
            s.dropped += dropped;
            s.overloads += (double)rllb_env_cluster_overloads(c.env)[e];
            rllb_stats_add(&returns, out->returns[first + e]);
        }
    }
    out->mean_return = returns.mean;
    out->return_ci95 = rllb_stats_ci95(&returns);
    out->mean_length = s.steps / episodes;
    out->survival = s.survived / episodes;
    out->overloads = s.overloads / episodes;
    out->dropped_share = s.arrived > 0 ? s.dropped / s.arrived : 0;
    out->mean_load = s.mean / s.steps;
    out->load_std = s.deviation / s.steps;
    out->p99_load = (double)rllb_quantile(c.loads, (int32_t)c.load_count, 0.99);
    court_close(&c);
    return true;
}

void ex_score_free(ex_score *s)
{
    free(s->returns);
    free(s->dropped);
    memset(s, 0, sizeof *s);
}

static ex_difference differ(const double *a, const double *b, int32_t n)
{
    ex_difference d;
    rllb_stats s;
    int32_t i;

    memset(&s, 0, sizeof s);
    for (i = 0; i < n; i++) rllb_stats_add(&s, a[i] - b[i]);
    d.mean = s.mean;
    d.ci95 = rllb_stats_ci95(&s);
    return d;
}

ex_difference ex_returns_differ(const ex_score *a, const ex_score *b)
{
    return differ(a->returns, b->returns, a->episodes < b->episodes ? a->episodes : b->episodes);
}

ex_difference ex_dropped_differ(const ex_score *a, const ex_score *b)
{
    return differ(a->dropped, b->dropped, a->episodes < b->episodes ? a->episodes : b->episodes);
}

/* ---- models ------------------------------------------------------------------------------------------------ */

#define MODEL_BYTES_MAX ((size_t)1 << 30)

void ex_detail_log(void *user, rllb_status status, const char *detail)
{
    ex_detail *d = user;

    (void)status;
    snprintf(d->text, sizeof d->text, "%s", detail);
}

void ex_setup_differ(const char *was, const char *is, char words[200])
{
    while (*was && *is && strcspn(was, " ") == strcspn(is, " ") && strncmp(was, is, strcspn(was, " ")) == 0) {
        was += strcspn(was, " ");
        is += strcspn(is, " ");
        was += *was == ' ';
        is += *is == ' ';
    }
    snprintf(words, 200, "%.*s, not %.*s", (int)strcspn(was, " "), was, (int)strcspn(is, " "), is);
}

bool ex_isa_there(int32_t isa, bool portable)
{
    if (rllb_nn_kernels_query((rllb_nn_isa)isa, portable)) return true;
    ex_usage("isa", "this processor or this build does not have %s", ex_isa_names[isa]);
    return false;
}

static void meta_text(const ex_text *file, const char *key, char *out, size_t size)
{
    if (rllb_nn_file_meta(file->data, file->size, key, out, size) != RLLB_OK) out[0] = '\0';
}

bool ex_net_fill(rllb_nn_net *net, const ex_text *file, char why[EX_NET_WHY])
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive archive = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    rllb_logger logger = { ex_detail_log, NULL };
    const float *data = rllb_nn_net_data(net);
    size_t i, n = rllb_nn_net_floats(net);
    ex_detail detail = { "" };
    rllb_status status;

    logger.user = &detail;
    rllb_nn_net_entries(net, "", &archive);
    status = rllb_nn_archive_load(&archive, file->data, file->size, &logger);
    if (status != RLLB_OK) {
        snprintf(why, EX_NET_WHY, "%s%s%s", detail.text, detail.text[0] ? ": " : "", rllb_status_words(status));
        return false;
    }
    for (i = 0; i < n && isfinite(data[i]); i++) {}
    if (i < n) snprintf(why, EX_NET_WHY, "it has weights that are not finite");
    return i == n;
}

static bool model_load(const char *path, const ex_text *file, rllb_nn_isa isa, bool portable, ex_network *out)
{
    rllb_logger logger = { ex_detail_log, NULL };
    char why[EX_NET_WHY];
    ex_detail detail = { "" };
    rllb_nn_net_desc desc;
    rllb_status status;

    logger.user = &detail;
    status = rllb_nn_file_check(file->data, file->size, &logger);
    if (status == RLLB_OK) status = rllb_nn_net_desc_load(file->data, file->size, "", &desc);
    if (status == RLLB_OK) {
        desc.isa = isa;
        desc.portable = portable;
        out->net = rllb_nn_net_create(&desc);
        if (!out->net) status = RLLB_ERROR_OUT_OF_MEMORY;
    }
    if (status != RLLB_OK) {
        ex_fail("%s: not a model: %s%s%s", path, detail.text, detail.text[0] ? ": " : "", rllb_status_words(status));
        return false;
    }
    if (!ex_net_fill(out->net, file, why)) return ex_fail("%s: not a model: %s", path, why) == EX_OK;
    if (desc.inputs != desc.outputs && desc.inputs != desc.outputs + 1) {
        ex_fail("%s: not a balancer: it sees %d numbers and picks one of %d; %d would fit, or %d with the last arrival",
                path, (int)desc.inputs, (int)desc.outputs, (int)desc.outputs, (int)desc.outputs + 1);
        return false;
    }
    out->servers = desc.outputs;
    out->sees_arrival = desc.inputs > desc.outputs;
    meta_text(file, "env", out->env, sizeof out->env);
    meta_text(file, "traffic", out->traffic, sizeof out->traffic);
    meta_text(file, "algo", out->algo, sizeof out->algo);
    meta_text(file, "rates", out->rates, sizeof out->rates);
    return true;
}

bool ex_network_read(const char *path, rllb_nn_isa isa, bool portable, ex_network *out)
{
    ex_text file = { 0 };
    bool ok;

    memset(out, 0, sizeof *out);
    if (!ex_file_read(path, MODEL_BYTES_MAX, &file)) return false;
    ok = model_load(path, &file, isa, portable, out);
    ex_text_free(&file);
    if (!ok) ex_network_free(out);
    return ok;
}

void ex_network_free(ex_network *m)
{
    rllb_nn_net_destroy(m->net);
    m->net = NULL;
}

bool ex_archive_write(const rllb_nn_archive *archive, const rllb_nn_meta *meta, int32_t metas, const char *path)
{
    size_t size = rllb_nn_archive_size(archive, meta, metas);
    unsigned char *bytes = size ? malloc(size) : NULL;
    rllb_status status = RLLB_ERROR_OUT_OF_MEMORY;
    bool ok = false;

    if (bytes) status = rllb_nn_archive_save(archive, meta, metas, bytes, size);
    if (status == RLLB_OK) ok = ex_file_write(path, bytes, size);
    else ex_fail("cannot write %s: %s", path, rllb_status_words(status));
    free(bytes);
    return ok;
}
