/* test_nn_learners_solve.c - the worlds of examples/learners.c by hand, and what its learners must be able to do on a
   few seeds: QMIX finds the risky game of two steps and VDN the safe one; who has a memory remembers, who has none
   guesses; soft actor-critic keeps its entropy. Ten seeds of everything: build/learners --task all --seeds 10. */

#define main learners_main
#include "../examples/learners.c"
#undef main

#include "test.h"

/* A run in this process, in no folder, with the arithmetic that is the same on every machine. */
static bool train(run *r, int32_t t, int32_t algo, int32_t net, uint64_t with_seed, int32_t steps)
{
    portable = true;
    steps_wanted = steps;
    run_settle(r, t, algo, net, with_seed);
    steps_wanted = 0;
    if (run_open(r) != EX_OK) return false;
    while (!over(r)) go_on(r);
    judge(r);
    return true;
}

static void drop(run *r)
{
    run_close(r);
    free(r->history);
}

/* ---- worlds -------------------------------------------------------------------------------------------------- */

TEST(two_steps_pay_as_in_the_paper)
{
    static const double risky[2][2] = { { 0, 1 }, { 1, 8 } };
    float action[2], obs[6], state[3];
    double reward;
    int a, b, first;
    world w;

    for (first = 0; first < 2; first++) {
        for (a = 0; a < 2; a++) {
            for (b = 0; b < 2; b++) {
                memset(&w, 0, sizeof w);
                two_step_begin(&w);
                action[0] = (float)first;
                action[1] = (float)(a != b); /* has no say in the first step */
                CHECK_EQ_I(two_step_step(&w, action, &reward), GOES_ON);
                CHECK_NEAR(reward, 0, 0);
                two_step_see(&w, obs, state);
                CHECK_NEAR(state[1 + first], 1, 0);
                CHECK_MEM(obs, state, sizeof state);
                CHECK_MEM(obs + 3, state, sizeof state);
                action[0] = (float)a;
                action[1] = (float)b;
                CHECK_EQ_I(two_step_step(&w, action, &reward), TERMINATED);
                CHECK_NEAR(reward, first ? risky[a][b] : 7, 0);
            }
        }
    }
}

/* Between cue and question both cues look the same, and no action changes what is seen. */
TEST(a_cue_is_seen_once)
{
    float obs[2][2], action[1];
    double reward;
    int t, cue;
    world w[2];

    memset(w, 0, sizeof w);
    for (t = 0; t <= MEMORY_DELAY; t++) {
        for (cue = 0; cue < 2; cue++) {
            w[cue].x[X_WHICH] = cue;
            w[cue].x[X_STEP] = t;
            memory_see(&w[cue], obs[cue], NULL);
            action[0] = 1;
            CHECK_EQ_I(memory_step(&w[cue], action, &reward), t == MEMORY_DELAY ? TERMINATED : GOES_ON);
            CHECK_NEAR(reward, t < MEMORY_DELAY ? 0 : cue ? 1 : -1, 0);
        }
        if (t) CHECK_MEM(obs[0], obs[1], sizeof obs[0]);
        else CHECK(obs[0][0] != obs[1][0]);
    }
}

/* Hanging still it stays; from the side it falls by 3 g / (2 l); up and at rest costs nothing; the torque counts. */
TEST(pendulum_by_hand)
{
    float action[1] = { 0 };
    double reward;
    world w;

    memset(&w, 0, sizeof w);
    CHECK_EQ_I(pendulum_step(&w, action, &reward), GOES_ON);
    CHECK_NEAR(reward, 0, 0);
    CHECK_NEAR(w.x[PENDULUM_SPIN], 0, 0);
    w.x[PENDULUM_ANGLE] = 3.14159265358979323846 / 2;
    pendulum_step(&w, action, &reward);
    CHECK_NEAR(reward, -2.4674011002723395, 1e-12); /* (pi / 2)^2 */
    CHECK_NEAR(w.x[PENDULUM_SPIN], 0.75, 1e-12);    /* 15 * 0.05 */
    CHECK_NEAR(w.x[PENDULUM_ANGLE], 1.5707963267948966 + 0.0375, 1e-12);
    memset(&w, 0, sizeof w);
    action[0] = 1;
    w.x[X_STEP] = 199;
    CHECK_EQ_I(pendulum_step(&w, action, &reward), TRUNCATED);
    CHECK_NEAR(reward, -0.004, 1e-12);
    CHECK_NEAR(w.x[PENDULUM_SPIN], 0.3, 1e-12); /* 3 * 2 * 0.05 */
    w.x[PENDULUM_SPIN] = 8;
    pendulum_step(&w, action, &reward);
    CHECK_NEAR(w.x[PENDULUM_SPIN], 8, 0);
}

/* One push from rest, as in test_nn_cartpole.c: 8 / 0.82 m/s2. */
TEST(cartpole_by_hand)
{
    float action[1] = { 1 };
    double reward;
    world w;

    memset(&w, 0, sizeof w);
    CHECK_EQ_I(cartpole_step(&w, action, &reward), GOES_ON);
    CHECK_NEAR(reward, 1, 0);
    CHECK_NEAR(w.x[CART_V], 0.02 * 8 / 0.82, 1e-12);
    CHECK_NEAR(w.x[CART_SPIN], -0.02 * (10 / 1.1) / (0.5 * (4.0 / 3 - 0.1 / 1.1)), 1e-12);
    w.x[X_STEP] = 499;
    CHECK_EQ_I(cartpole_step(&w, action, &reward), TRUNCATED);
    w.x[CART_X] = 2.5;
    CHECK_EQ_I(cartpole_step(&w, action, &reward), TERMINATED);
}

/* Speeds 1, 2, 4: weights in proportion lose nothing; equal ones lose 7/9 (1/1 + 1/2 + 1/4) - 1 = 13/36. */
TEST(set_by_hand)
{
    float right[ITEMS_MOST] = { 0, 1, 2 }, equal[ITEMS_MOST] = { 1, 1, 1 };
    double reward, look = set_rule(true), even = set_rule(false);
    int32_t i;
    world w;

    memset(&w, 0, sizeof w);
    rllb_rng_init(&w.rng, 1, 0);
    set_begin(&w);
    CHECK_EQ_I((int)w.x[X_WHICH], 3);
    for (i = 0; i < 3; i++) w.x[SET_SPEED + i] = i;
    CHECK_EQ_I(set_step(&w, right, &reward), GOES_ON);
    CHECK_NEAR(reward, 0, 1e-15);
    w.x[X_STEP] = SET_STEPS - 1;
    CHECK_EQ_I(set_step(&w, equal, &reward), TERMINATED);
    CHECK_NEAR(reward, -13.0 / 36 / SET_STEPS, 1e-15);
    NOTE("all equal %.3f, by one look %.3f", even, look);
    CHECK(even < look - 0.1 && look < tasks[SET].solved); /* solved is more than one look can give */
}

/* ---- learning ------------------------------------------------------------------------------------------------ */

/* Instrumented code is too slow to learn anything with: a few updates of everything there is. */
#if defined(RLLB_I_ASAN)
TEST(every_learner_runs)
{
    int32_t t, algo, net;
    run r;

    for (t = 0; t < TASKS; t++) {
        for (algo = 0; algo < ALGOS; algo++) {
            for (net = 0; net < NETS; net++) {
                if (misfit(t, algo)) continue;
                run_settle(&r, t, algo, net, 1);
                r.how.learn_start = by_value(algo) ? 1 : 8;
                r.how.batch = 4;
                r.how.learn_every = 70;
                REQUIRE(run_open(&r) == EX_OK);
                while (r.counter[C_STEPS] < 220) CHECK(step(&r));
                CHECK(r.counter[C_UPDATES] > 0 || tasks[t].episode > 100);
                drop(&r);
            }
        }
    }
}
#else
TEST(qmix_finds_8_and_vdn_7)
{
    uint64_t s;
    run r;

    for (s = 1; s <= 2; s++) {
        REQUIRE(train(&r, TWO_STEP, QMIX, FEED, s, 4000));
        CHECK_NEAR(r.judged[J_RETURN], 8, 0);
        drop(&r);
        REQUIRE(train(&r, TWO_STEP, VDN, FEED, s, 4000));
        CHECK_NEAR(r.judged[J_RETURN], 7, 0);
        drop(&r);
    }
}

/* Guessing 400 times: within four deviations of 1/20. */
TEST(memory_needs_a_recurrent_network)
{
    static const int32_t algos[] = { IQL, SAC };
    int32_t i;
    uint64_t s;
    run r;

    for (i = 0; i < 2; i++) {
        for (s = 1; s <= 2; s++) {
            REQUIRE(train(&r, MEMORY, algos[i], RECURRENT, s, 5000));
            NOTE("%s, seed %d: recurrent %.3f", algo_names[algos[i]], (int)s, r.judged[J_RETURN]);
            CHECK(r.judged[J_RETURN] >= tasks[MEMORY].solved);
            drop(&r);
            REQUIRE(train(&r, MEMORY, algos[i], FEED, s, 5000));
            CHECK_NEAR(r.judged[J_RETURN], 0, 0.2);
            drop(&r);
        }
    }
}

TEST(entropy_keeps_to_its_target)
{
    run r;

    REQUIRE(train(&r, CARTPOLE, SAC, FEED, 1, 5500));
    NOTE("cartpole: entropy %.3f, target %.3f, temperature %.4f, return %.1f", late(&r, H_ENTROPY), entropy_target(&r),
         late(&r, H_ALPHA), r.judged[J_RETURN]);
    CHECK_NEAR(entropy_target(&r), 0.5 * log(2), 1e-12);
    CHECK_NEAR(late(&r, H_ENTROPY), entropy_target(&r), 0.15 * entropy_target(&r));
    CHECK(late(&r, H_ALPHA) > 0 && late(&r, H_ALPHA) < 0.2); /* where it began */
    CHECK(r.judged[J_RETURN] > 100);
    drop(&r);
}

TEST(one_network_serves_every_size)
{
    int32_t i;
    run r;

    REQUIRE(train(&r, SET, VDN, RECURRENT, 1, 1920));
    for (i = 0; i < SET_SIZES; i++) {
        NOTE("%d servers: %.3f", (int)set_sizes[i], r.judged[J_SIZES + i]);
        CHECK(r.judged[J_SIZES + i] > -0.2); /* all equal: -0.24, -0.31, -0.35 */
    }
    drop(&r);
}
#endif

/* A step size that cannot do well: it ends, says when, and what it has is finite. */
TEST(divergence_is_caught)
{
    static const int32_t what[][2] = { { TWO_STEP, QMIX }, { TWO_STEP, SAC } };
    size_t i, k;
    run r;

    for (i = 0; i < 2; i++) {
        lr = 1000;
        REQUIRE(train(&r, what[i][0], what[i][1], FEED, 1, 2000));
        lr = 0;
        NOTE("%s: step %d", algo_names[what[i][1]], (int)r.counter[C_DIVERGED]);
        CHECK(r.counter[C_DIVERGED] > 0);
        for (k = 0; k < rllb_nn_net_floats(net_of(&r)); k++) {
            if (!isfinite(rllb_nn_net_data(net_of(&r))[k])) break;
        }
        CHECK_EQ_I(k, rllb_nn_net_floats(net_of(&r)));
        CHECK(isfinite(r.judged[J_RETURN]));
        drop(&r);
    }
}
