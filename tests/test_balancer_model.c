/* test_balancer_model.c - the balancer against a slow and plain model: random sequences of all its calls

   A million steps in all, for every policy, with the guard's defaults, without guard, and with rails drawn at random;
   see balancer_model.h for what is compared. A failure prints policy, guards and seed of its sequence, the step and the
   last calls; the sequence is the same every time: `test_balancer_model sed` plays those of one policy. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include "balancer_model.h"
#include "test.h"

enum { SEQUENCES = 9, STEPS = 1000000 / (SEQUENCES * MODEL_GUARDS_NUM * RLLB_BALANCE_NUM) + 1 };

static void play(rllb_balance policy)
{
    int guards, seed;
    uint64_t steps = 0;

    for (guards = 0; guards < MODEL_GUARDS_NUM; guards++) {
        for (seed = 0; seed < SEQUENCES; seed++) {
            model_source source = { NULL, 0, 0, { { 0, 0, 0, 0 } } };
            model *m;
            rllb_rng_init(&source.rng, (uint64_t)seed, (uint64_t)policy * MODEL_GUARDS_NUM + (uint64_t)guards);
            m = model_create(&source, policy, (model_guards)guards);
            while (m->steps < STEPS && model_step(m)) {}
            steps += m->steps;
            if (model_failed(m)) {
                printf("%s, guards %d, seed %d:\n", rllb_balance_name(policy), guards, seed);
                model_print(m, stdout);
            }
            CHECK(!model_failed(m));
            model_destroy(m);
        }
    }
    NOTE("%llu steps", (unsigned long long)steps);
}

#define PLAY(id, name) \
    TEST(policy_##id) { play(RLLB_BALANCE_##id); }
RLLB_BALANCE_LIST(PLAY)
