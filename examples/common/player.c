/* player.c - see player.h */

#include "player.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "options.h"

#define POLICY_NAME(id, name) name,
const char *const ex_policy_names[] = { RLLB_POLICY_LIST(POLICY_NAME) NULL };

void ex_player_classical(ex_player *p, rllb_policy_kind kind)
{
    memset(p, 0, sizeof *p);
    p->kind = kind;
    snprintf(p->name, sizeof p->name, "%s", rllb_policy_name(kind));
}

bool ex_player_model(ex_player *p, const char *path)
{
    const char *end = strrchr(path, '/'), *from;

    memset(p, 0, sizeof *p);
    p->path = path;
    if (!ex_network_read(path, RLLB_NN_ISA_DEFAULT, false, &p->model)) return false;
    for (from = end ? end : path; from > path && from[-1] != '/'; from--) {} /* the folder it is in */
    snprintf(p->name, sizeof p->name, "%s%s%.*s%s", p->model.algo[0] ? p->model.algo : "model", end ? " (" : "",
             end ? (int)(end - from < 40 ? end - from : 40) : 0, from, end ? ")" : "");
    return true;
}

/* "0.05,0.1,0.15", as train writes it. */
static bool rates_of(const char *text, ex_list *list)
{
    char part[64];

    list->count = 0;
    while (*text && list->count < EX_LIST_MAX) {
        size_t length = strcspn(text, ",");
        double *to = &list->values[list->count++];
        snprintf(part, sizeof part, "%.*s", (int)(length < 60 ? length : 60), text);
        if (!ex_parse_double(part, to) || *to < 1e-6) return false;
        text += length + (text[length] == ',');
    }
    return list->count > 1;
}

bool ex_player_world(const ex_player *p, ex_world *w, bool env_given, bool rates_given)
{
    const ex_network *m = &p->model;

    if (!p->path) return true;
    if (m->env[0] && !env_given) {
        int32_t mode = rllb_env_mode_of(m->env);
        if (mode < 0) {
            ex_fail("%s: it was trained for the cluster '%s', which is unknown", p->path, m->env);
            return false;
        }
        w->mode = mode;
    }
    if (m->rates[0] && !rates_given && (!env_given || strcmp(m->env, ex_mode_names[w->mode]) == 0) &&
        !rates_of(m->rates, &w->rates)) {
        ex_fail("%s: its rates '%.60s' are none", p->path, m->rates);
        return false;
    }
    return true;
}

bool ex_player_open(ex_player *p, const ex_world *w, const rllb_env_cluster *env, uint64_t seed)
{
    rllb_policy_desc d;
    char rates[512];

    p->servers = w->servers;
    if (!p->path) {
        rllb_policy_desc_default(&d);
        d.kind = p->kind;
        d.servers = w->servers;
        d.weights = w->rate;
        d.work = (float)rllb_env_cluster_mean_arrival(env);
        d.seed = seed;
        p->policy = rllb_policy_create(&d);
        if (!p->policy) ex_fail("no memory for the policy");
        return p->policy != NULL;
    }
    ex_rates_text(w->rate, w->servers, rates);
    if (p->model.servers != w->servers) {
        ex_fail("%s: it balances %d servers, and here are %d (rates %.200s)", p->path, (int)p->model.servers,
                (int)w->servers, rates);
        return false;
    }
    if ((p->model.env[0] && strcmp(p->model.env, ex_mode_names[w->mode]) != 0) ||
        (p->model.rates[0] && strcmp(p->model.rates, rates) != 0)) {
        ex_warn("%s was trained on the %s cluster with rates %s, not on this one", p->path,
                p->model.env[0] ? p->model.env : "?", p->model.rates[0] ? p->model.rates : "?");
    }
    p->inputs = p->servers + p->model.sees_arrival;
    p->work = rllb_nn_work_create(p->model.net, 1, false);
    p->seen = calloc((size_t)p->inputs, sizeof *p->seen);
    p->values = calloc((size_t)p->servers, sizeof *p->values);
    if (p->work && p->seen && p->values) return true;
    ex_fail("no memory for the model");
    return false;
}

int32_t ex_player_choose(ex_player *p, const rllb_env_cluster *env)
{
    int32_t i, best = 0;

    if (p->policy) return rllb_policy_choose(p->policy, rllb_env_cluster_observe(env));
    ex_observe(env, 1, p->servers, p->inputs, p->seen);
    rllb_nn_forward(p->model.net, p->work, p->seen, 1, p->values);
    for (i = 1; i < p->servers; i++) {
        if (p->values[i] > p->values[best] || p->values[best] != p->values[best]) best = i;
    }
    return best;
}

void ex_player_close(ex_player *p)
{
    rllb_policy_destroy(p->policy);
    if (p->path) {
        rllb_nn_work_destroy(p->work);
        ex_network_free(&p->model);
    }
    free(p->seen);
    free(p->values);
    memset(p, 0, sizeof *p);
}
