/* fuzz_learners.c - damaged checkpoints of learners, and damaged policies: refused whole, or harmless

   A learner that takes a file must go on living whatever numbers it holds (counters, places in the replay, states);
   one that refuses it must be as it was. A policy made from a file serves or leaves the action alone. */

#define RLLB_IMPLEMENTATION
#include "rllb_nn.h"
#include "../learners.h"

#include <stdio.h>
#include <stdlib.h>

#define DEMAND(condition)                                                    \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
            abort();                                                         \
        }                                                                    \
    } while (0)

enum { KINDS = 5, ROOM = 1 << 18 };

static const l_algo algos[KINDS] = { L_QMIX, L_SAC, L_SAC_CONTINUOUS, L_IQL, L_VDN };
static const l_shape shapes[KINDS] = { L_RECURRENT, L_SET_RECURRENT, L_SET, L_PLAIN, L_SET };

static void try_learner(const uint8_t *data, size_t size, int kind)
{
    static unsigned char before[ROOM], after[ROOM];
    learner l;
    size_t n;

    DEMAND(l_make(&l, algos[kind], shapes[kind], 1));
    l_live(&l, 7);
    n = l_save(&l, before, ROOM);
    DEMAND(n > 0);
    if (l_load(&l, data, size, NULL) == RLLB_OK) {
        l_live(&l, 12);
    } else {
        DEMAND(l_save(&l, after, ROOM) == n && memcmp(before, after, n) == 0);
    }
    l_drop(&l);
}

static void try_policy(const uint8_t *data, size_t size, int32_t items)
{
    rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
    rllb_nn_policy_desc d;
    rllb_nn_policy *p;
    float obs[256] = { 1, -2, 3 }, action[128];
    int32_t n, actions, t;

    if (rllb_nn_policy_desc_load(data, size, items, &d) != RLLB_OK) return;
    DEMAND(rllb_nn_policy_size(&d) > 0);
    if (rllb_nn_policy_size(&d) > 1 << 22) return;
    p = rllb_nn_policy_create(&d);
    DEMAND(p != NULL);
    rllb_nn_policy_entries(p, &a);
    DEMAND(a.overflow == 0);
    rllb_nn_archive_load(&a, data, size, NULL);
    n = rllb_nn_space_observations(&d.space);
    actions = rllb_nn_space_actions(&d.space);
    for (t = 0; t < 3 && n <= 256 && actions <= 128; t++) rllb_nn_policy_control(p, obs, n, action, actions);
    rllb_nn_policy_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int kind;

    if (size < 2) return 0;
    kind = data[0] % KINDS; /* the first byte says for whom, so that one input costs one learner */
    try_policy(data + 1, size - 1, data[0] / KINDS % 9);
    try_learner(data + 1, size - 1, kind);
    return 0;
}

/* A file of each kind of learner, and two policies. */
static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
    rllb_nn_meta meta[RLLB_NN_NET_METAS];
    rllb_nn_policy_desc d;
    rllb_nn_policy *p;
    char text[80];
    learner l;
    size_t n = 0;
    int32_t metas;

    buffer[0] = (uint8_t)i;
    if (i < KINDS) {
        if (!l_make(&l, algos[i], shapes[i], 2)) return 0;
        l_live(&l, 12);
        n = l_save(&l, buffer + 1, room - 1);
        l_drop(&l);
    } else if (i < KINDS + 2) {
        rllb_nn_policy_desc_default(&d);
        d.space = l_space(L_SAC, i == KINDS ? L_SET_RECURRENT : L_PLAIN);
        d.net = l_net(i == KINDS ? L_SET_RECURRENT : L_PLAIN, false);
        d.agents = L_AGENTS;
        rllb_nn_values_linear(1, 2, 3, d.values);
        p = rllb_nn_policy_create(&d);
        if (!p) return 0;
        rllb_nn_policy_entries(p, &a);
        metas = rllb_nn_net_meta(rllb_nn_policy_net(p), text, meta);
        n = rllb_nn_archive_size(&a, meta, metas);
        if (n > room - 1 || rllb_nn_archive_save(&a, meta, metas, buffer + 1, room - 1) != RLLB_OK) n = 0;
        rllb_nn_policy_destroy(p);
    }
    return n ? n + 1 : 0;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
