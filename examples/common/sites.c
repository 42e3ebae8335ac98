/* sites.c - see sites.h */

#include "sites.h"

#include "options.h"
#include "worlds.h"

#include <stdio.h>
#include <string.h>

void ex_site_model(int32_t hidden, uint64_t seed, rllb_nn_policy_desc *p, ex_model_info *info)
{
    static const float common[3][2] = { { 1.5f, 16 }, { 0.7f, 1.5f }, { 0.05f, 1.5f } }; /* d, a, gamma */
    int32_t k;

    ex_model_info_default(info);
    info->features = RLLB_FEATURES_RELATIVE;
    info->form = RLLB_FORM_DRAW;
    info->d = 5; /* until the first decision */
    info->gamma = 0.27f;
    info->control_form = true;
    info->control_steps = true;
    info->seed = seed;

    rllb_nn_policy_desc_default(p);
    ex_features_shape(info->features, &p->space.observations, &p->space.item_observations);
    p->space.items = EX_WORLD_SERVERS;
    p->space.common = 3;
    p->net.hidden[0] = hidden;
    p->net.after[0] = hidden;
    p->net.activation = RLLB_NN_LEAKY_RELU;
    p->net.leak = 0.1f;
    p->net.seed = seed;
    p->logarithmic = true;
    p->values[0] = 1 / EX_SITE_STEP;
    p->values[1] = EX_SITE_STEP;
    for (k = 0; k < 3; k++) memcpy(p->common[k], common[k], sizeof common[k]);
}

void ex_site_begin(rllb_nn_net *net)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    int32_t i;

    rllb_nn_net_entries(net, "", &a);
    for (i = 0; i < a.count; i++) {
        const rllb_nn_entry *e = &entries[i];
        int32_t rows = (int32_t)e->shape[e->transposed ? 1 : 0], cols = (int32_t)e->shape[e->transposed ? 0 : 1];
        size_t k, floats = e->panels ? rllb_nn_tensor_floats(rows, cols) : (size_t)e->shape[0];
        bool bias = !strcmp(e->name, "after.1.bias") || !strcmp(e->name, "common.1.bias");
        float *x = e->data;
        if (!bias && strcmp(e->name, "after.1.weight") != 0 && strcmp(e->name, "common.1.weight") != 0) continue;
        for (k = 0; k < floats; k++) x[k] *= bias ? 0 : 0.02f;
    }
}

/* Does a model mean by its decisions what those of this shape mean? */
static bool same_meaning(const ex_model *m, const rllb_nn_policy_desc *p, const ex_model_info *info)
{
    int32_t k;
    bool same = m->info.features == info->features && m->info.form == info->form &&
                m->info.control_form == info->control_form && m->info.control_steps == info->control_steps &&
                m->policy.logarithmic == p->logarithmic && m->policy.space.choices == p->space.choices &&
                memcmp(m->policy.values, p->values, 2 * sizeof *p->values) == 0;

    for (k = 0; k < p->space.common; k++) {
        same = same && memcmp(m->policy.common[k], p->common[k], 2 * sizeof *p->common[k]) == 0;
    }
    return same;
}

int ex_site_load(const char *path, const rllb_nn_policy_desc *p, const ex_model_info *info, rllb_nn_net *net)
{
    rllb_env_flows_desc d;
    ex_model m;
    int status = EX_FAILED;

    if (!ex_model_open(path, &m)) return EX_FAILED;
    rllb_env_flows_preset(RLLB_ENV_PRESET_MODERATE, &d); /* any world: a set serves them all */
    d.balancers = 1;
    if (!same_meaning(&m, p, info)) {
        status = ex_usage("from", "%s sees or decides other things than a model for many sites", path);
    } else if (ex_model_apply(&m, &d)) {
        status = rllb_nn_net_copy(net, rllb_nn_policy_net(d.controls[0])) == RLLB_OK ? EX_OK :
                 ex_usage("from", "%s is of another shape than a model with --hidden %d", path, (int)p->net.hidden[0]);
    }
    ex_model_close(&m);
    return status;
}
