/* Fuzz target: the balancer of rllb.h against the plain model of tests/balancer_model.h. The first two bytes are the
   policy and the guards, the others every decision after that: the descriptor, then call after call with its
   arguments, until they end.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz tests/fuzz/fuzz_balancer.c -lm -o fuzz_balancer && ./fuzz_balancer

   Without -DFUZZ_LIBFUZZER and fuzzer in -fsanitize any compiler builds the loop of fuzz_main.h. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"

#include "../balancer_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_source source;
    model *m;

    if (size < 2) return 0;
    memset(&source, 0, sizeof source);
    source.bytes = data + 2;
    source.size = size - 2;
    m = model_create(&source, (rllb_balance)(data[0] % RLLB_BALANCE_NUM), (model_guards)(data[1] % MODEL_GUARDS_NUM));
    while (model_step(m)) {}
    if (model_failed(m)) {
        model_print(m, stderr);
        abort();
    }
    model_destroy(m);
    return 0;
}

/* Every policy with each kind of guards: a few hundred steps drawn at random. */
static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    size_t n = room < 2048 ? room : 2048, at;
    rllb_rng rng;

    if (i < 0 || i >= RLLB_BALANCE_NUM * MODEL_GUARDS_NUM || n < 2) return 0;
    rllb_rng_init(&rng, 1, (uint64_t)i);
    buffer[0] = (uint8_t)(i / MODEL_GUARDS_NUM);
    buffer[1] = (uint8_t)(i % MODEL_GUARDS_NUM);
    for (at = 2; at < n; at++) buffer[at] = (uint8_t)(rllb_rng_u64(&rng) >> 56);
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
