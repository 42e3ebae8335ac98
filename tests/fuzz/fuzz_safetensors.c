/* Fuzz target: the model files of rllb_nn.h. Whatever the bytes: they are refused with a code and a word, or all that
   the checker promised holds, a network can be made from them, and a learner that loaded them still answers valid
   actions and stays inside its memory.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz tests/fuzz/fuzz_safetensors.c -lm -o fuzz_safetensors && ./fuzz_safetensors

   Without -DFUZZ_LIBFUZZER and fuzzer in -fsanitize any compiler builds the loop of fuzz_main.h. */

#define RLLB_IMPLEMENTATION
#include "rllb_nn.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { INPUTS = 3, ACTIONS = 3, CAPACITY = 6 };

static int refusals;
static rllb_status refusal;

static void listen(void *user, rllb_status status, const char *detail)
{
    (void)user;
    DEMAND(status > RLLB_OK && status < RLLB_STATUS_NUM && detail && memchr(detail, 0, RLLB_NN_NAME_MAX));
    refusals++;
    refusal = status;
}

static const rllb_logger logger = { listen, NULL };

static rllb_nn_net *make_net(int layer_norm)
{
    rllb_nn_net_desc d;

    rllb_nn_net_desc_default(&d);
    d.inputs = INPUTS;
    d.outputs = ACTIONS;
    d.hidden[0] = 5;
    d.dueling = layer_norm ? 2 : 0;
    d.layer_norm = layer_norm != 0;
    return rllb_nn_net_create(&d);
}

static rllb_nn_dqn *make_learner(int full)
{
    rllb_nn_dqn_desc d;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = INPUTS;
    d.net.outputs = ACTIONS;
    d.net.hidden[0] = 4;
    d.replay.capacity = CAPACITY;
    d.replay.n_step = full ? 3 : 1;
    d.replay.prioritized = d.masks = full != 0;
    d.target_every = full ? 2 : 0;
    d.batch = 4;
    return rllb_nn_dqn_create(&d);
}

static void play(rllb_nn_dqn *agent, int steps)
{
    static const unsigned char mask[ACTIONS] = { 1, 0, 1 };
    const float obs[INPUTS] = { 0.5f, -1, 0.25f };
    int i;

    for (i = 0; i < steps; i++) {
        int32_t action = rllb_nn_dqn_act(agent, obs, i % 2 ? mask : NULL), best = rllb_nn_dqn_best(agent, obs, mask);
        rllb_status status;
        DEMAND(action >= 0 && action < ACTIONS && (i % 2 == 0 || mask[action]) && (best == 0 || best == 2));
        DEMAND(rllb_nn_dqn_observe(agent, obs, action, 1, obs, mask, i == 3, i == 5) == RLLB_OK);
        status = rllb_nn_dqn_update(agent, NULL);
        DEMAND(status == RLLB_OK || status == RLLB_ERROR_EMPTY || status == RLLB_ERROR_NOT_FINITE);
    }
}

/* Loads all or nothing; with what the file has a learner goes on. */
static void try_learner(const uint8_t *data, size_t size, int full)
{
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };
    rllb_nn_dqn *agent = make_learner(full);
    rllb_status status;

    DEMAND(agent != NULL);
    rllb_nn_dqn_entries(agent, &a);
    refusals = 0;
    status = rllb_nn_archive_load(&a, data, size, &logger);
    DEMAND(refusals == (status != RLLB_OK) && (status == RLLB_OK || refusal == status));
    if (status == RLLB_OK) play(agent, 8);
    rllb_nn_dqn_destroy(agent);
}

static void try_net(const uint8_t *data, size_t size, int layer_norm)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    rllb_nn_net *net = make_net(layer_norm);
    size_t i, changed = 0;
    float *data_of_net;

    DEMAND(net != NULL);
    data_of_net = rllb_nn_net_data(net);
    for (i = 0; i < rllb_nn_net_floats(net); i++) data_of_net[i] = 3;
    rllb_nn_net_entries(net, "", &a);
    if (rllb_nn_archive_load(&a, data, size, NULL) != RLLB_OK) {
        for (i = 0; i < rllb_nn_net_floats(net); i++) changed += data_of_net[i] < 3 || data_of_net[i] > 3;
        DEMAND(changed == 0);
    }
    rllb_nn_net_destroy(net);
}

/* A network of the description in the file, if it is small enough for a fuzzer's patience. */
static void try_description(const uint8_t *data, size_t size)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    rllb_nn_net_desc d;
    rllb_nn_net *net;

    if (rllb_nn_net_desc_load(data, size, "", &d) != RLLB_OK) return;
    DEMAND(rllb_nn_net_size(&d) > 0);
    if (rllb_nn_net_size(&d) > 1 << 20) return;
    net = rllb_nn_net_create(&d);
    DEMAND(net != NULL);
    rllb_nn_net_entries(net, "", &a);
    DEMAND(a.overflow == 0);
    rllb_nn_archive_load(&a, data, size, NULL);
    if (d.inputs <= 64) {
        rllb_nn_work *work = rllb_nn_work_create(net, 1, false);
        float x[64] = { 1 };
        int32_t best;
        DEMAND(work != NULL);
        best = rllb_nn_best(net, work, x, NULL);
        DEMAND(d.item_inputs ? best == -1 : best >= 0 && best < d.outputs);
        rllb_nn_work_destroy(work);
    }
    rllb_nn_net_destroy(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "layer.0.weight", "replay.counters", "agent.random", "a", "" };
    static const size_t bytes_of[RLLB_NN_DTYPE_NUM] = { 4, 8, 4, 8, 8, 1 };
    rllb_status status;
    char text[16];
    size_t i;

    refusals = 0;
    status = rllb_nn_file_check(data, size, &logger);
    DEMAND(refusals == (status != RLLB_OK) && (status == RLLB_OK || refusal == status));
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        rllb_nn_dtype dtype;
        int64_t rows, cols;
        size_t offset;
        if (rllb_nn_file_query(data, size, names[i], &dtype, &rows, &cols, &offset) != RLLB_OK) continue;
        if (status != RLLB_OK) continue; /* of an unchecked file the answer may be any number */
        DEMAND(dtype >= 0 && dtype < RLLB_NN_DTYPE_NUM && rows >= 0 && cols >= 0 && offset <= size);
        if (cols > 0) DEMAND((uint64_t)rows * (uint64_t)cols * bytes_of[dtype] <= size - offset);
    }
    if (rllb_nn_file_meta(data, size, "activation", text, sizeof text) == RLLB_OK) DEMAND(memchr(text, 0, sizeof text));
    rllb_nn_file_meta(data, size, "k", text, 1);
    try_description(data, size);
    try_net(data, size, 0);
    try_net(data, size, 1);
    try_learner(data, size, 0);
    try_learner(data, size, 1);
    return 0;
}

static size_t seed_archive(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas, uint8_t *buffer,
                           size_t room)
{
    size_t n = rllb_nn_archive_size(a, meta, metas);

    return n <= room && rllb_nn_archive_save(a, meta, metas, buffer, room) == RLLB_OK ? n : 0;
}

/* Two learners, two networks, and a header that someone else could have written. */
static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char other[] =
        "{\n \"a\" : {\"shape\":[2,1,2], \"dtype\":\"BF16\", \"data_offsets\":[0, 8]}, \"__metadata__\":{\"k\":"
        "\"\\u00e9\\ud83d\\ude00\\\"\", \"activation\":\"tanh\"},\"\\u0062\":{\"dtype\":\"F32\",\"shape\":[],"
        "\"data_offsets\":[8,12]}}  ";
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };
    uint64_t length = sizeof other - 1;
    size_t n = 0;

    if (i < 2) {
        rllb_nn_dqn *agent = make_learner(i);
        if (!agent) return 0;
        play(agent, 12);
        rllb_nn_dqn_entries(agent, &a);
        n = seed_archive(&a, NULL, 0, buffer, room);
        rllb_nn_dqn_destroy(agent);
    } else if (i < 4) {
        rllb_nn_net *net = make_net(i - 2);
        rllb_nn_meta meta[RLLB_NN_NET_METAS];
        char text[80];
        if (!net) return 0;
        rllb_nn_net_entries(net, "", &a);
        n = seed_archive(&a, meta, rllb_nn_net_meta(net, text, meta), buffer, room);
        rllb_nn_net_destroy(net);
    } else if (i == 4 && sizeof length + (size_t)length + 12 <= room) {
        memset(buffer, 0, sizeof length + (size_t)length + 12);
        memcpy(buffer, &length, sizeof length);
        memcpy(buffer + sizeof length, other, (size_t)length);
        n = sizeof length + (size_t)length + 12;
    }
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
