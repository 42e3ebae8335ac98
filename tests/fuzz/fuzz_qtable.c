/* Fuzz target: the saved tables of Q-learning. Whatever the bytes: they are refused with a code and the table stays as
   it was, or the table that took them saves the very same bytes again and goes on choosing and learning by numbers.
   Since a checksum would stop nearly everything at the door, every input is tried once more with its checksum put
   right.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz tests/fuzz/fuzz_qtable.c -lm -o fuzz_qtable && ./fuzz_qtable

   Without -DFUZZ_LIBFUZZER and fuzzer in -fsanitize any compiler builds the loop of fuzz_main.h. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"

#include <math.h>
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

enum { KINDS = 4, SERVERS = 3, TAIL = 8 };

/* Dense and hashed, by metrics and by states of its own. */
static rllb_qlearn *make(int kind)
{
    rllb_qlearn_desc d;

    rllb_qlearn_desc_default(&d);
    d.servers = SERVERS;
    if (kind == 1) d.entries = 16;
    if (kind == 2) d.entries = 64;
    if (kind == 3) d.states = (uint64_t)1 << 40;
    if (kind == 3) d.entries = 32;
    return rllb_qlearn_create(&d);
}

static void play(rllb_qlearn *q, int kind, int requests)
{
    rllb_qlearn_info info;
    rllb_rng rng;
    int i, k;

    rllb_rng_init(&rng, 1, 0);
    for (i = 0; i < requests; i++) {
        float cost[SERVERS], metrics[3], v[SERVERS];
        rllb_qlearn_step step;
        int32_t server;
        for (k = 0; k < 3; k++) metrics[k] = rllb_rng_range(&rng, 0, k == 0 ? 110.0f : k == 1 ? 12.0f : 230.0f);
        for (k = 0; k < SERVERS; k++) cost[k] = rllb_rng_below(&rng, 4) ? 1 : (float)INFINITY;
        cost[i % SERVERS] = 1;
        if (kind == 3) DEMAND(rllb_qlearn_set_state(q, (uint64_t)rllb_rng_below(&rng, 50) << 34) == RLLB_OK);
        else DEMAND(rllb_qlearn_observe(q, i % SERVERS, metrics) == RLLB_OK);
        server = rllb_qlearn_choose(q, cost, SERVERS);
        DEMAND(server >= 0 && server < SERVERS && cost[server] < 2);
        step = rllb_qlearn_begin(q, server);
        DEMAND(rllb_qlearn_done(q, &step, rllb_rng_double(&rng), (rllb_outcome)(i % 7 == 0)) == RLLB_OK);
        rllb_qlearn_values(q, step.state, v);
        for (k = 0; k < SERVERS; k++) DEMAND(v[k] - v[k] == 0);
    }
    rllb_qlearn_query(q, NULL, &info);
    DEMAND(info.rows <= info.capacity && info.rows <= info.states && info.epsilon >= 0 && info.epsilon <= 1);
}

static uint8_t *save(const rllb_qlearn *q, size_t *size)
{
    uint8_t *bytes;

    *size = rllb_qlearn_saved_size(q);
    bytes = (uint8_t *)malloc(*size);
    DEMAND(bytes != NULL);
    DEMAND(rllb_qlearn_save(q, bytes, *size) == RLLB_OK);
    return bytes;
}

static void try_kind(const uint8_t *data, size_t size, int kind)
{
    rllb_qlearn *q = make(kind);
    uint8_t *before, *after;
    size_t before_size, after_size;
    rllb_status status;

    DEMAND(q != NULL);
    play(q, kind, 20);
    before = save(q, &before_size);
    status = rllb_qlearn_load(q, data, size);
    DEMAND(status >= RLLB_OK && status < RLLB_STATUS_NUM);
    after = save(q, &after_size);
    if (status == RLLB_OK) {
        DEMAND(after_size == size && memcmp(after, data, size) == 0);
        play(q, kind, 40);
    } else {
        DEMAND(after_size == before_size && memcmp(after, before, before_size) == 0);
    }
    free(before);
    free(after);
    rllb_qlearn_destroy(q);
}

static void seal(uint8_t *bytes, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i + TAIL < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    for (i = 0; i < TAIL; i++) bytes[size - TAIL + i] = (uint8_t)(hash >> (8 * i) & 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed = (uint8_t *)malloc(size ? size : 1);
    int kind;

    DEMAND(sealed != NULL);
    if (size) memcpy(sealed, data, size);
    if (size >= TAIL) seal(sealed, size);
    for (kind = 0; kind < KINDS; kind++) {
        try_kind(data, size, kind);
        try_kind(sealed, size, kind);
    }
    free(sealed);
    return 0;
}

/* A fresh and a used table of every kind. */
static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    rllb_qlearn *q;
    size_t size = 0;

    if (i >= 2 * KINDS) return 0;
    q = make(i / 2);
    if (!q) return 0;
    if (i % 2) play(q, i / 2, 200);
    if (rllb_qlearn_saved_size(q) <= room && rllb_qlearn_save(q, buffer, room) == RLLB_OK) {
        size = rllb_qlearn_saved_size(q);
    }
    rllb_qlearn_destroy(q);
    return size;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
