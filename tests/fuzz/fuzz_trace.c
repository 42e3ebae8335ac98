/* Fuzz target: the trace reader of rllb_env.h. Whatever the bytes, it must refuse them with a code and words, or give a
   trace that keeps its promises: sorted finite times from 0, finite work not below 0, and steps that hold all of it.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz tests/fuzz/fuzz_trace.c -lm -o fuzz_trace && ./fuzz_trace

   Without -DFUZZ_LIBFUZZER and fuzzer in -fsanitize any compiler builds the loop of fuzz_main.h. */

#define RLLB_IMPLEMENTATION
#include "rllb_env.h"

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

static void check_trace(const rllb_env_trace *t)
{
    rllb_env_cluster_desc d;
    double total = 0, step_s = rllb_env_trace_step_s(t), *work;
    int32_t i, steps;

    DEMAND(t->count > 0 && (t->kind == RLLB_ENV_TRACE_REQUESTS || t->kind == RLLB_ENV_TRACE_AMOUNTS));
    for (i = 0; i < t->count; i++) {
        DEMAND(t->time_s[i] - t->time_s[i] == 0 && t->time_s[i] >= (i ? t->time_s[i - 1] : 0));
        DEMAND(t->work[i] - t->work[i] == 0 && t->work[i] >= 0);
        total += t->work[i];
    }
    DEMAND(t->time_s[0] <= 0 && total > 0 && total <= t->total && total >= t->total);
    DEMAND(step_s > 0 && step_s - step_s == 0);
    steps = rllb_env_trace_steps(t, 0);
    if (steps < 1 || steps > 100000) return; /* a few rows can lie aeons apart */
    work = (double *)malloc((size_t)steps * sizeof *work);
    if (!work) return;
    DEMAND(rllb_env_trace_bin(t, 0, work, steps) == RLLB_OK);
    for (i = 0; i < steps; i++) total -= work[i];
    DEMAND(total <= 1e-9 * t->total && total >= -1e-9 * t->total);
    free(work);
    rllb_env_cluster_desc_default(&d);
    d.mode = RLLB_ENV_HONEST;
    d.traffic = RLLB_ENV_TRACE;
    d.trace = t;
    if (t->total > 1e-300) { /* far below, shares of it vanish */
        rllb_env_cluster *env = rllb_env_cluster_create(&d);
        int32_t action = 1;
        float reward = 0;
        uint8_t terminated, truncated;
        DEMAND(env != NULL);
        DEMAND(rllb_env_cluster_step(env, &action, &reward, &terminated, &truncated) == 0);
        DEMAND(reward - reward == 0 && reward <= 0);
        rllb_env_cluster_destroy(env);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const rllb_env_trace_desc named = { "a", "b", RLLB_ENV_TRACE_AMOUNTS };
    rllb_env_trace_error error;
    int form;

    for (form = 0; form < 2; form++) {
        rllb_env_trace *t = rllb_env_trace_create(form ? &named : NULL, data, size, &error);
        if (t) {
            DEMAND(error.status == RLLB_OK);
            check_trace(t);
        } else {
            DEMAND(error.status != RLLB_OK && error.line >= 0 && error.line <= (int64_t)size + 1);
            DEMAND(error.detail[0] != 0 && memchr(error.detail, 0, sizeof error.detail) != NULL);
            DEMAND(strchr(error.detail, '\n') == NULL);
        }
        rllb_env_trace_destroy(t);
    }
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char *const texts[] = {
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:51,879,55",
        "timestamp,value\n2014-04-10 00:04:00,94.0\n2014-04-10 00:09:00,56.0\n2014-04-10 00:14:00,187.0\n",
        "time\tquery\n0.11540736657511366\t/dummy.php/?n=5478122\n0.1258482248539052\t/dummy.php/?n=4812723\n",
        "\xEF\xBB\xBF\"b\";x;\"a\"\n1e3;\"q\"\"q\";2024-02-29T12:00:00Z\n\n0;;2024-02-29T13:30:00.25+01:00\n",
        "0,1\n1.5,2e-3\n1e2,.5\n",
    };
    size_t n;

    if (i < 0 || i >= (int)(sizeof texts / sizeof *texts)) return 0;
    n = strlen(texts[i]);
    if (n > room) n = room;
    memcpy(buffer, texts[i], n);
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
