/* learners.h - small learners of every kind, and a world for them to live in: for tests and fuzz targets

   A kind is an algorithm with a shape of network. The world: what an agent sees is random, an item (or head) is worth
   its first number, and a decision earns as much as it agrees with that. Include after rllb_nn.h. */

#ifndef LEARNERS_H
#define LEARNERS_H

#include <stdbool.h>
#include <string.h>

enum { L_AGENTS = 2, L_SEEN = 3, L_ITEMS = 4, L_STATES = 2, L_OBS_MOST = 64, L_ACT_MOST = 8 };

typedef enum l_algo { L_IQL, L_VDN, L_QMIX, L_SAC, L_SAC_CONTINUOUS, L_SAC_RELEASED, L_ALGOS } l_algo;
typedef enum l_shape { L_PLAIN, L_RECURRENT, L_SET, L_SET_RECURRENT, L_SHAPES } l_shape;

static const char *const l_algo_names[] = { "iql", "vdn", "qmix", "sac", "sac continuous", "sac released" };
static const char *const l_shape_names[] = { "plain", "recurrent", "set", "recurrent set" };

typedef struct learner {
    l_algo algo;
    rllb_nn_space space;
    rllb_nn_qmix *q;
    rllb_nn_sac *s;
    rllb_rng world;
    int64_t steps;
    rllb_status last; /* of the last update */
} learner;

static rllb_nn_space l_space(l_algo algo, l_shape shape)
{
    rllb_nn_space s;

    memset(&s, 0, sizeof s);
    s.choices = algo == L_SAC_CONTINUOUS ? 0 : 3;
    s.last_action = shape != L_PLAIN;
    s.agent_id = algo != L_SAC_RELEASED;
    if (shape == L_SET || shape == L_SET_RECURRENT) {
        s.observations = 1;
        s.item_observations = L_SEEN;
        s.items = L_ITEMS;
        s.common = 1;
    } else {
        s.observations = L_SEEN;
        s.heads = 2;
    }
    return s;
}

static rllb_nn_net_desc l_net(l_shape shape, bool layer_norm)
{
    rllb_nn_net_desc d;

    rllb_nn_net_desc_default(&d);
    d.hidden[0] = 8;
    d.after[0] = shape == L_PLAIN ? 0 : 8;
    d.gru = shape == L_RECURRENT || shape == L_SET_RECURRENT ? 6 : 0;
    d.layer_norm = layer_norm;
    d.normalise = shape == L_SET || shape == L_RECURRENT;
    return d;
}

static rllb_nn_qmix_desc l_qmix_desc(l_algo algo, l_shape shape, uint64_t seed)
{
    rllb_nn_qmix_desc d;

    rllb_nn_qmix_desc_default(&d);
    d.space = l_space(algo, shape);
    d.net = l_net(shape, false);
    if (shape == L_PLAIN) d.net.dueling = 4;
    d.agents = L_AGENTS;
    d.apart = algo == L_IQL;
    d.mix = algo == L_IQL ? RLLB_NN_MIX_NONE : algo == L_VDN ? RLLB_NN_MIX_SUM : RLLB_NN_MIX_QMIX;
    d.states = shape == L_PLAIN ? L_STATES : 0;
    d.embed = 4;
    d.hyper = 5;
    d.double_q = shape == L_RECURRENT;
    d.bounded = shape == L_SET;
    d.sampled = shape == L_SET;
    d.stored = shape == L_RECURRENT;
    d.window = shape == L_RECURRENT ? 4 : 0;
    d.burn = shape == L_RECURRENT ? 1 : 0;
    d.batch = 3;
    d.tau = shape == L_SET_RECURRENT ? 0.1f : 0;
    d.target_every = 3;
    d.replay.capacity = 40;
    d.replay.episodes = 8;
    d.replay.steps = 6;
    d.seed = seed;
    return d;
}

static rllb_nn_sac_desc l_sac_desc(l_algo algo, l_shape shape, uint64_t seed)
{
    rllb_nn_sac_desc d;

    rllb_nn_sac_desc_default(&d);
    d.space = l_space(algo, shape);
    d.actor = l_net(shape, shape == L_PLAIN);
    d.agents = L_AGENTS;
    d.form = algo == L_SAC_RELEASED ? RLLB_NN_SAC_RELEASED : RLLB_NN_SAC_EXACT;
    d.normalise_rewards = shape == L_SET;
    d.stored = shape == L_RECURRENT;
    d.window = shape == L_RECURRENT ? 4 : 0;
    d.burn = shape == L_RECURRENT ? 1 : 0;
    d.batch = 4;
    d.replay.capacity = 40;
    d.replay.episodes = 8;
    d.replay.steps = 6;
    d.seed = seed;
    return d;
}

static bool l_make(learner *l, l_algo algo, l_shape shape, uint64_t seed)
{
    rllb_nn_qmix_desc q = l_qmix_desc(algo, shape, seed);
    rllb_nn_sac_desc s = l_sac_desc(algo, shape, seed);

    memset(l, 0, sizeof *l);
    l->algo = algo;
    l->space = l_space(algo, shape);
    rllb_rng_init(&l->world, seed, 77);
    if (algo <= L_QMIX) l->q = rllb_nn_qmix_create(&q);
    else l->s = rllb_nn_sac_create(&s);
    return l->q || l->s;
}

static void l_drop(learner *l)
{
    rllb_nn_qmix_destroy(l->q);
    rllb_nn_sac_destroy(l->s);
    l->q = NULL;
    l->s = NULL;
}

/* What is seen: of a set with `items` of them, the rest is zero. */
static void l_look(learner *l, int32_t items, float *obs)
{
    int32_t width = rllb_nn_space_observations(&l->space), used = width, a, i;

    if (l->space.items) used = l->space.observations + items * l->space.item_observations;
    memset(obs, 0, (size_t)(L_AGENTS * width) * sizeof(float));
    for (a = 0; a < L_AGENTS; a++) {
        for (i = 0; i < used; i++) obs[a * width + i] = 2 * rllb_rng_float(&l->world) - 1;
    }
}

/* `steps` steps, an update after each; episodes of five steps, each second one cut. */
static void l_live(learner *l, int32_t steps)
{
    float obs[2][L_AGENTS * L_OBS_MOST], state[2][L_STATES], action[L_AGENTS * L_ACT_MOST], reward[L_AGENTS];
    int32_t width = rllb_nn_space_observations(&l->space), actions = rllb_nn_space_actions(&l->space), i, a, d;
    rllb_nn_step step;

    for (i = 0; i < steps; i++, l->steps++) {
        int32_t items = l->space.items ? 2 + (int32_t)(l->steps / 5 % 3) : 0;
        memset(&step, 0, sizeof step);
        l_look(l, items, obs[0]);
        l_look(l, items, obs[1]);
        for (d = 0; d < L_STATES; d++) {
            state[0][d] = obs[0][d];
            state[1][d] = obs[1][d];
        }
        if (l->q) rllb_nn_qmix_act(l->q, obs[0], items, true, action);
        else rllb_nn_sac_act(l->s, obs[0], items, true, action);
        for (a = 0; a < L_AGENTS; a++) {
            reward[a] = 0;
            for (d = 0; d < actions; d++) {
                reward[a] += (action[a * actions + d] - 1) * obs[0][a * width + d % L_SEEN] / (float)actions;
            }
        }
        step.obs = obs[0];
        step.next = obs[1];
        step.state = state[0];
        step.next_state = state[1];
        step.action = action;
        step.reward = reward;
        step.items = items;
        step.terminated = l->steps % 10 == 4;
        step.truncated = l->steps % 10 == 9;
        if (l->q) l->last = rllb_nn_qmix_observe(l->q, &step);
        else l->last = rllb_nn_sac_observe(l->s, &step);
        if (l->last != RLLB_OK) return;
        l->last = l->q ? rllb_nn_qmix_update(l->q, NULL) : rllb_nn_sac_update(l->s, NULL);
    }
}

static void l_entries(learner *l, rllb_nn_archive *a)
{
    if (l->q) rllb_nn_qmix_entries(l->q, a);
    else rllb_nn_sac_entries(l->s, a);
    rllb_nn_archive_add(a, "world", RLLB_NN_U64, 4, 0, l->world.s);
    rllb_nn_archive_add(a, "steps", RLLB_NN_I64, 1, 0, &l->steps);
}

/* The whole learner as bytes; 0 if they do not fit. */
static size_t l_save(learner *l, void *to, size_t room)
{
    static rllb_nn_entry entries[RLLB_NN_LEARNER_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_LEARNER_ENTRIES_MAX, 0 };
    size_t size;

    l_entries(l, &a);
    size = rllb_nn_archive_size(&a, NULL, 0);
    return size && size <= room && rllb_nn_archive_save(&a, NULL, 0, to, room) == RLLB_OK ? size : 0;
}

static rllb_status l_load(learner *l, const void *from, size_t size, const rllb_logger *logger)
{
    static rllb_nn_entry entries[RLLB_NN_LEARNER_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_LEARNER_ENTRIES_MAX, 0 };

    l_entries(l, &a);
    return rllb_nn_archive_load(&a, from, size, logger);
}

#endif
