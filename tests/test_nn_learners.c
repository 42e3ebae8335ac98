/* test_nn_learners.c - learners of several agents as their users meet them: the same bits from the same seed, taken up
   again bit for bit, nothing allocated, wrong input refused, divergence named; and policies that serve */

#include <stdio.h>
#include <stdlib.h>

static long block_calls; /* allocations by the headers */

static void *counted_block(size_t bytes)
{
    block_calls++;
    return malloc(bytes);
}

#define RLLB_MALLOC(bytes) counted_block(bytes)
#define RLLB_FREE(pointer) free(pointer)
#define RLLB_STATIC
#include "rllb_nn.h"
#include "learners.h"
#include "test.h"

#ifdef RLLB_I_ASAN
enum { SLOWER = 2 }; /* where every access is checked, lives are shorter, and every second kind is enough */
#else
enum { SLOWER = 1 };
#endif

static bool left_out(int algo, int shape)
{
    return SLOWER > 1 && (algo + shape) % 2 == 1;
}

enum { ROOM = 1 << 20 };

static unsigned char file[3][ROOM];

/* ---- determinism and resuming ------------------------------------------------------------------------------ */

TEST(every_learner_lives_and_learns)
{
    int algo, shape;
    learner l;

    for (algo = 0; algo < L_ALGOS; algo++) {
        for (shape = 0; shape < L_SHAPES; shape++) {
            if (left_out(algo, shape)) continue;
            REQUIRE(l_make(&l, (l_algo)algo, (l_shape)shape, 1));
            l_live(&l, 60 / SLOWER);
            CHECK_EQ_I(l.last, RLLB_OK);
            if (l.last != RLLB_OK) NOTE("%s, %s", l_algo_names[algo], l_shape_names[shape]);
            CHECK((l.q ? rllb_nn_qmix_updates(l.q) : rllb_nn_sac_updates(l.s)) >= 30 / SLOWER);
            l_drop(&l);
        }
    }
}

TEST(the_same_seed_gives_the_same_bits_and_another_does_not)
{
    int algo, shape;
    learner l;

    for (algo = 0; algo < L_ALGOS; algo++) {
        for (shape = 0; shape < L_SHAPES; shape++) {
            size_t size[3];
            int i;
            if (left_out(algo, shape)) continue;
            for (i = 0; i < 3; i++) {
                REQUIRE(l_make(&l, (l_algo)algo, (l_shape)shape, i < 2 ? 5 : 6));
                l_live(&l, 40 / SLOWER);
                size[i] = l_save(&l, file[i], ROOM);
                l_drop(&l);
            }
            REQUIRE(size[0] > 0 && size[0] == size[1] && size[1] == size[2]);
            CHECK_MEM(file[1], file[0], size[0]);
            CHECK(memcmp(file[2], file[0], size[0]) != 0);
        }
    }
}

/* Saved in the middle of an episode, loaded into a learner with another seed, and on: as if nothing had been. */
TEST(a_learner_is_taken_up_again_bit_for_bit)
{
    int algo, shape;
    learner l, other;

    for (algo = 0; algo < L_ALGOS; algo++) {
        for (shape = 0; shape < L_SHAPES; shape++) {
            size_t size;
            if (left_out(algo, shape)) continue;
            REQUIRE(l_make(&l, (l_algo)algo, (l_shape)shape, 9));
            l_live(&l, 33);
            size = l_save(&l, file[0], ROOM);
            REQUIRE(size > 0);
            l_live(&l, 40 / SLOWER);
            CHECK_EQ_I(l_save(&l, file[1], ROOM), size);
            l_drop(&l);
            REQUIRE(l_make(&other, (l_algo)algo, (l_shape)shape, 10));
            l_live(&other, 17);
            CHECK_EQ_I(l_load(&other, file[0], size, NULL), RLLB_OK);
            l_live(&other, 40 / SLOWER);
            CHECK_EQ_I(l_save(&other, file[2], ROOM), size);
            CHECK_MEM(file[2], file[1], size);
            l_drop(&other);
        }
    }
}

/* ---- bad input --------------------------------------------------------------------------------------------- */

static int heard;
static char heard_text[128];

static void hear(void *user, rllb_status status, const char *text)
{
    (void)user;
    (void)status;
    heard++;
    snprintf(heard_text, sizeof heard_text, "%s", text);
}

TEST(a_checkpoint_that_is_cut_short_or_of_another_learner_changes_nothing)
{
    rllb_logger logger = { hear, NULL };
    learner l, other;
    size_t size, cut, again;

    REQUIRE(l_make(&l, L_QMIX, L_RECURRENT, 3));
    l_live(&l, 30);
    size = l_save(&l, file[0], ROOM);
    REQUIRE(size > 0);
    REQUIRE(l_make(&other, L_QMIX, L_RECURRENT, 4));
    l_live(&other, 12);
    again = l_save(&other, file[1], ROOM);
    for (cut = 0; cut < size; cut += 997) {
        heard = 0;
        CHECK(l_load(&other, file[0], cut, &logger) != RLLB_OK);
        CHECK_EQ_I(heard, 1);
    }
    CHECK_EQ_I(l_save(&other, file[2], ROOM), again);
    CHECK_MEM(file[2], file[1], again);
    l_drop(&other);
    REQUIRE(l_make(&other, L_SAC, L_RECURRENT, 4));
    heard = 0;
    CHECK(l_load(&other, file[0], size, &logger) != RLLB_OK);
    CHECK_EQ_I(heard, 1);
    NOTE("sac from a qmix file: %s", heard_text);
    l_drop(&other);
    REQUIRE(l_make(&other, L_QMIX, L_SET, 4));
    CHECK_EQ_I(l_load(&other, file[0], size, &logger), RLLB_ERROR_SHAPE);
    NOTE("a set from a recurrent file: %s", heard_text);
    l_drop(&other);
    l_drop(&l);
}

TEST(descriptors_that_make_no_sense_are_refused)
{
    rllb_nn_qmix_desc q, good_q = l_qmix_desc(L_QMIX, L_RECURRENT, 1);
    rllb_nn_sac_desc s, good_s = l_sac_desc(L_SAC, L_SET, 1);
    rllb_nn_sac_desc continuous = l_sac_desc(L_SAC_CONTINUOUS, L_PLAIN, 1);

    CHECK(rllb_nn_qmix_size(&good_q) > 0);
    CHECK(rllb_nn_sac_size(&good_s) > 0);
    CHECK(rllb_nn_sac_size(&continuous) > 0);
    CHECK_EQ_I(rllb_nn_qmix_size(NULL), 0);
    CHECK_EQ_I(rllb_nn_sac_size(NULL), 0);
#define WRONG_Q(change)                     \
    do {                                    \
        q = good_q;                         \
        change;                             \
        CHECK_EQ_I(rllb_nn_qmix_size(&q), 0); \
    } while (0)
    WRONG_Q(q.agents = -1);
    WRONG_Q(q.gamma = 1.5f);
    WRONG_Q(q.gamma = (float)NAN);
    WRONG_Q(q.lambda = 2);
    WRONG_Q(q.space.choices = 0);
    WRONG_Q(q.space.choices = 1);
    WRONG_Q(q.space.choices = RLLB_NN_CHOICES_MAX + 1);
    WRONG_Q(q.space.heads = -2);
    WRONG_Q(q.space.observations = 0);
    WRONG_Q(q.space.items = 3);
    WRONG_Q(q.mix = RLLB_NN_MIX_NUM);
    WRONG_Q(q.batch = -1);
    WRONG_Q(q.burn = 4);
    WRONG_Q(q.temperature = -1);
    WRONG_Q(q.tau = 2);
    WRONG_Q(q.net.gru = -1);
    WRONG_Q(q.net.dueling = 4; q.bounded = true);
    WRONG_Q(q.opt.lr.from = -1);
    WRONG_Q(q.replay.capacity = 1);
    WRONG_Q(q.replay.steps = -1);
    WRONG_Q(q.embed = 100000);
    WRONG_Q(q.batch = 1 << 16; q.replay.steps = 65536; q.window = 0);
#define WRONG_S(from, change)              \
    do {                                   \
        s = from;                          \
        change;                            \
        CHECK_EQ_I(rllb_nn_sac_size(&s), 0); \
    } while (0)
    WRONG_S(good_s, s.alpha = -1);
    WRONG_S(good_s, s.space.common = RLLB_NN_COMMON_MAX + 1);
    WRONG_S(good_s, s.space.heads = 2);
    WRONG_S(good_s, s.space.items = 0);
    WRONG_S(good_s, s.form = RLLB_NN_SAC_FORM_NUM);
    WRONG_S(good_s, s.critic = s.actor; s.critic.gru = 5);
    WRONG_S(good_s, s.actor.dueling = 5);
    WRONG_S(good_s, s.tau = -0.5f);
    WRONG_S(good_s, s.entropy = (float)NAN);
    WRONG_S(continuous, s.form = RLLB_NN_SAC_RELEASED);
}

TEST(numbers_that_are_not_finite_do_not_get_in)
{
    float obs[L_AGENTS * L_OBS_MOST] = { 0 }, action[L_AGENTS * L_ACT_MOST] = { 0 }, reward[L_AGENTS] = { 0 };
    rllb_nn_step step;
    learner l;
    int which;

    for (which = 0; which < 2; which++) {
        size_t size;
        REQUIRE(l_make(&l, which ? L_SAC : L_VDN, L_PLAIN, 3));
        l_live(&l, 30);
        size = l_save(&l, file[0], ROOM);
        memset(&step, 0, sizeof step);
        step.obs = step.next = obs;
        step.action = action;
        step.reward = reward;
        obs[1] = (float)NAN;
        CHECK_EQ_I(l.q ? rllb_nn_qmix_observe(l.q, &step) : rllb_nn_sac_observe(l.s, &step), RLLB_ERROR_NOT_FINITE);
        CHECK_EQ_I(l.q ? rllb_nn_qmix_act(l.q, obs, 0, true, action) : rllb_nn_sac_act(l.s, obs, 0, true, action),
                   RLLB_ERROR_NOT_FINITE);
        obs[1] = 0;
        reward[1] = (float)INFINITY;
        CHECK_EQ_I(l.q ? rllb_nn_qmix_observe(l.q, &step) : rllb_nn_sac_observe(l.s, &step), RLLB_ERROR_NOT_FINITE);
        CHECK_EQ_I(l.q ? rllb_nn_qmix_observe(l.q, NULL) : rllb_nn_sac_observe(l.s, NULL), RLLB_ERROR_ARGUMENT);
        CHECK_EQ_I(l_save(&l, file[1], ROOM), size);
        CHECK_MEM(file[1], file[0], size);
        reward[1] = 0;
        l_drop(&l);
    }
}

/* Rewards that grow without bound make the loss overflow: the update says so, and the parameters stay finite. */
TEST(divergence_is_named_and_the_last_good_state_is_kept)
{
    int algo;
    learner l;

    for (algo = 0; algo < L_ALGOS; algo++) {
        float obs[L_AGENTS * L_OBS_MOST] = { 1, 2, 3 }, action[L_AGENTS * L_ACT_MOST] = { 0 };
        float reward[L_AGENTS] = { 3e38f, 3e38f }, state[L_STATES] = { 0 };
        rllb_status status = RLLB_OK;
        rllb_nn_net *net;
        rllb_nn_step step;
        size_t i;
        int n, bad = 0;
        REQUIRE(l_make(&l, (l_algo)algo, L_PLAIN, 3));
        l_live(&l, 25);
        memset(&step, 0, sizeof step);
        step.obs = step.next = obs;
        step.state = step.next_state = state;
        step.action = action;
        step.reward = reward;
        for (n = 0; n < 40; n++) {
            step.truncated = n % 5 == 4;
            if (l.q) rllb_nn_qmix_observe(l.q, &step);
            else rllb_nn_sac_observe(l.s, &step);
        }
        for (n = 0; n < 20 && status == RLLB_OK; n++) {
            status = l.q ? rllb_nn_qmix_update(l.q, NULL) : rllb_nn_sac_update(l.s, NULL);
        }
        CHECK_EQ_I(status, RLLB_ERROR_NOT_FINITE);
        net = l.q ? rllb_nn_qmix_net(l.q, 0) : rllb_nn_sac_actor(l.s);
        for (i = 0; i < rllb_nn_net_floats(net); i++) bad += !isfinite(rllb_nn_net_data(net)[i]);
        net = l.s ? rllb_nn_sac_critic(l.s, 1) : rllb_nn_qmix_net(l.q, 1);
        for (i = 0; i < rllb_nn_net_floats(net); i++) bad += !isfinite(rllb_nn_net_data(net)[i]);
        CHECK_EQ_I(bad, 0);
        l_drop(&l);
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

TEST(nothing_is_allocated_after_init)
{
    int algo, shape;
    learner l;

    for (algo = 0; algo < L_ALGOS; algo++) {
        for (shape = 0; shape < L_SHAPES; shape++) {
            long before;
            REQUIRE(l_make(&l, (l_algo)algo, (l_shape)shape, 1));
            before = block_calls;
            l_live(&l, 30 / SLOWER);
            CHECK(l_save(&l, file[0], ROOM) > 0);
            CHECK_EQ_I(block_calls, before);
            l_drop(&l);
        }
    }
}

TEST(a_block_too_small_is_refused)
{
    rllb_nn_qmix_desc q = l_qmix_desc(L_QMIX, L_SET, 1);
    rllb_nn_sac_desc s = l_sac_desc(L_SAC, L_RECURRENT, 1);
    size_t size_q = rllb_nn_qmix_size(&q), size_s = rllb_nn_sac_size(&s);
    void *block = malloc(size_q > size_s ? size_q : size_s);
    rllb_nn_qmix *agent = NULL;
    rllb_nn_sac *other = NULL;

    REQUIRE(block);
    CHECK_EQ_I(rllb_nn_qmix_init(&q, block, size_q - 1, &agent), RLLB_ERROR_MEMORY_SIZE);
    CHECK(agent == NULL);
    CHECK_EQ_I(rllb_nn_qmix_init(&q, block, size_q, &agent), RLLB_OK);
    CHECK_EQ_I(rllb_nn_sac_init(&s, block, size_s - 1, &other), RLLB_ERROR_MEMORY_SIZE);
    CHECK_EQ_I(rllb_nn_sac_init(&s, block, size_s, &other), RLLB_OK);
    CHECK_EQ_I(rllb_nn_sac_init(&s, block, size_s, NULL), RLLB_ERROR_ARGUMENT);
    free(block);
}

/* ---- episodes ---------------------------------------------------------------------------------------------- */

/* Every step that is sampled is one that was observed: each carries its number in all it holds. */
TEST(sequences_are_what_was_lived)
{
    enum { ROWS = 16, STEPS = 7 };
    rllb_nn_episodes_desc d;
    rllb_nn_episodes *e;
    static float obs[(STEPS + 1) * ROWS * 2], action[STEPS * ROWS * 2], reward[STEPS * ROWS * 2], before[ROWS * 2];
    static float state[(STEPS + 1) * ROWS], memory[ROWS * 4];
    static unsigned char filled[STEPS * ROWS], terminated[STEPS * ROWS];
    static int32_t items[ROWS], slot[ROWS], length[ROWS];
    rllb_nn_sequences b = { obs, state, action, reward, before, memory, filled, terminated, items, slot, length, 0 };
    rllb_rng rng;
    int n, wrong = 0, seen_short = 0, seen_long = 0, number = 0, episode = 0, step = 0, last = 3;

    memset(&d, 0, sizeof d);
    d.capacity = 50;
    d.episodes = 9;
    d.steps = STEPS;
    d.agents = 2;
    d.observations = d.actions = 1;
    d.states = 1;
    d.memories = 2;
    e = rllb_nn_episodes_create(&d);
    REQUIRE(e);
    rllb_rng_init(&rng, 1, 1);
    CHECK_EQ_I(rllb_nn_episodes_sample(e, ROWS, 0, &b), RLLB_ERROR_EMPTY);
    for (n = 0; n < 4000; n++) {
        float o[2], next[2], s, s2, a[2], r[2], m[4];
        rllb_nn_step now;
        memset(&now, 0, sizeof now);
        o[0] = s = (float)number; /* what is seen at step k of an episode is its number, and next the following one */
        o[1] = -o[0];
        next[0] = s2 = o[0] + 1;
        next[1] = -next[0];
        a[0] = o[0] + 0.25f;
        a[1] = o[1];
        r[0] = o[0] + 0.5f;
        r[1] = o[1];
        m[0] = m[1] = m[2] = m[3] = o[0];
        now.obs = o;
        now.next = next;
        now.state = &s;
        now.next_state = &s2;
        now.action = a;
        now.reward = r;
        now.memory = m;
        now.items = episode;
        now.terminated = step == last && episode % 2;
        now.truncated = step == last && episode % 2 == 0;
        CHECK_EQ_I(rllb_nn_episodes_observe(e, &now), RLLB_OK);
        number++;
        if (step++ == last) {
            number++; /* the last state has a number too */
            episode++;
            step = 0;
            last = rllb_rng_below(&rng, 12);
        }
        if (n % 5 || rllb_nn_episodes_sample(e, ROWS, n % 3 == 0 ? 0 : n % 3 == 1 ? 1 : 4, &b) != RLLB_OK) continue;
        for (int row = 0; row < ROWS; row++) {
            int most = n % 3 == 0 ? STEPS : n % 3 == 1 ? 1 : 4, t;
            float first = obs[row * 2];
            wrong += length[row] < 1 || length[row] > most;
            seen_short += length[row] < b.steps;
            seen_long += length[row] == STEPS;
            wrong += memory[row * 4 + 3] != first;
            wrong += before[row * 2] != -1 && before[row * 2] != first - 1 + 0.25f;
            for (t = 0; t <= b.steps; t++) {
                int at = t * ROWS + row;
                bool there = t <= length[row];
                wrong += obs[at * 2] != (there ? first + (float)t : 0) || obs[at * 2 + 1] != -obs[at * 2];
                wrong += state[at] != obs[at * 2];
                if (t == b.steps) continue;
                there = t < length[row];
                wrong += filled[at] != there || (terminated[at] && t != length[row] - 1);
                wrong += action[at * 2] != (there ? obs[at * 2] + 0.25f : 0);
                wrong += reward[at * 2] != (there ? obs[at * 2] + 0.5f : 0);
                wrong += terminated[at] && items[row] % 2 == 0;
            }
        }
    }
    CHECK_EQ_I(wrong, 0);
    CHECK(seen_short > 100 && seen_long > 20);
    CHECK(rllb_nn_episodes_count(e) <= 9 && rllb_nn_episodes_count(e) > 2);
    CHECK(rllb_nn_episodes_steps(e) + rllb_nn_episodes_count(e) <= 50);
    rllb_nn_episodes_destroy(e);
}

/* Windows of one step draw every step alike: chi-square over the steps of a ring with episodes of 1, 4 and 10. */
TEST(windows_of_one_step_draw_every_step_alike)
{
    enum { ROWS = 64, CELLS = 15 };
    rllb_nn_episodes_desc d;
    rllb_nn_episodes *e;
    static float obs[2 * ROWS], action[ROWS], reward[ROWS], before[ROWS];
    static unsigned char filled[ROWS], terminated[ROWS];
    static int32_t items[ROWS], slot[ROWS], length[ROWS];
    rllb_nn_sequences b = { obs, NULL, action, reward, before, NULL, filled, terminated, items, slot, length, 0 };
    static const int lengths[3] = { 1, 4, 10 };
    int count[CELLS] = { 0 }, n, i, k, number = 0;
    double chi = 0;

    memset(&d, 0, sizeof d);
    d.capacity = 32;
    d.observations = d.actions = 1;
    e = rllb_nn_episodes_create(&d);
    REQUIRE(e);
    for (k = 0; k < 3; k++) {
        for (i = 0; i < lengths[k]; i++) {
            float o = (float)number++, zero = 0;
            rllb_nn_step now;
            memset(&now, 0, sizeof now);
            now.obs = &o;
            now.next = now.action = now.reward = &zero;
            now.truncated = i == lengths[k] - 1;
            CHECK_EQ_I(rllb_nn_episodes_observe(e, &now), RLLB_OK);
        }
    }
    for (n = 0; n < 1000; n++) {
        CHECK_EQ_I(rllb_nn_episodes_sample(e, ROWS, 1, &b), RLLB_OK);
        for (i = 0; i < ROWS; i++) count[(int)obs[i]]++;
    }
    for (i = 0; i < CELLS; i++) {
        double expected = 1000.0 * ROWS / CELLS;
        chi += (count[i] - expected) * (count[i] - expected) / expected;
    }
    NOTE("chi-square %.1f with 14 degrees of freedom", chi);
    CHECK(chi < 36.1); /* 99.9 % */
    rllb_nn_episodes_destroy(e);
}

/* ---- policies ---------------------------------------------------------------------------------------------- */

static rllb_nn_policy_desc policy_desc(l_algo algo, l_shape shape, int32_t items)
{
    rllb_nn_policy_desc d;

    rllb_nn_policy_desc_default(&d);
    d.space = l_space(algo, shape);
    d.space.agent_id = false;
    d.net = l_net(shape, false);
    if (items) d.space.items = items;
    rllb_nn_values_linear(1, 2, 3, d.values);
    rllb_nn_values_log(0.1f, 10, 3, d.common[0]);
    d.seed = d.net.seed = 8;
    return d;
}

TEST(values_of_an_action_set)
{
    float v[6];

    rllb_nn_values_linear(1, 2, 6, v);
    CHECK_NEAR((double)v[0], 1, 0);
    CHECK_NEAR((double)v[3], 1.6, 1e-6);
    CHECK_NEAR((double)v[5], 2, 0);
    rllb_nn_values_log(0.1f, 10, 5, v);
    CHECK_NEAR((double)v[0], 0.1, 1e-7);
    CHECK_NEAR((double)v[2], 1, 1e-6);
    CHECK_NEAR((double)v[4], 10, 1e-5);
}

/* Weights follow their servers: permuted observations, permuted weights, bit for bit, step after step. */
TEST(one_set_structured_policy_serves_any_number_in_any_order)
{
    static const int32_t sizes[] = { 1, 3, 7, 24, 64 };
    int which, shape, i, t;

    for (shape = L_SET; shape <= L_SET_RECURRENT; shape++) {
        rllb_nn_policy_desc d = policy_desc(shape == L_SET ? L_SAC : L_SAC_CONTINUOUS, (l_shape)shape, 64);
        rllb_nn_policy *a = rllb_nn_policy_create(&d), *b = rllb_nn_policy_create(&d);
        REQUIRE(a && b);
        for (which = 0; which < 5; which++) {
            int32_t n = sizes[which], place[64], more = 0;
            float x[1 + 64 * L_SEEN], y[1 + 64 * L_SEEN], w[65], v[65];
            rllb_rng rng;
            rllb_rng_init(&rng, 3, (uint64_t)which);
            for (i = 0; i < n; i++) place[i] = i;
            for (i = n - 1; i > 0; i--) {
                int32_t j = rllb_rng_below(&rng, i + 1), swap = place[i];
                place[i] = place[j];
                place[j] = swap;
            }
            rllb_nn_policy_begin(a);
            rllb_nn_policy_begin(b);
            for (t = 0; t < 5; t++) {
                for (i = 0; i < 1 + n * L_SEEN; i++) x[i] = 3 * (float)rllb_rng_normal(&rng);
                y[0] = x[0];
                for (i = 0; i < n; i++) memcpy(y + 1 + i * L_SEEN, x + 1 + place[i] * L_SEEN, L_SEEN * sizeof(float));
                memset(w, 0xff, sizeof w);
                memset(v, 0xff, sizeof v);
                rllb_nn_policy_control(a, x, 1 + n * L_SEEN, w, n + 1);
                rllb_nn_policy_control(b, y, 1 + n * L_SEEN, v, n + 1);
                for (i = 0; i < n; i++) CHECK_MEM(&v[i], &w[place[i]], sizeof(float));
                CHECK_MEM(&v[n], &w[n], sizeof(float));
                for (i = 1; i < n; i++) more += w[i] < w[0] || w[i] > w[0];
                for (i = 0; i < n; i++) CHECK(w[i] >= 1 && w[i] <= (d.space.choices ? 2 : 1.5f));
            }
            if (n > 3 && shape == L_SET_RECURRENT) CHECK(more > 0); /* it does tell them apart */
        }
        rllb_nn_policy_destroy(a);
        rllb_nn_policy_destroy(b);
    }
}

TEST(a_policy_is_saved_without_the_learner_and_serves_the_same)
{
    int algo, shape;

    for (algo = L_QMIX; algo <= L_SAC_CONTINUOUS; algo++) {
        for (shape = 0; shape < L_SHAPES; shape++) {
            rllb_nn_policy_desc d = policy_desc((l_algo)algo, (l_shape)shape, 0), loaded;
            rllb_nn_policy *p, *other;
            rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
            rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
            rllb_nn_meta meta[RLLB_NN_NET_METAS];
            char text[80];
            learner l;
            float obs[L_OBS_MOST], w[L_ACT_MOST], v[L_ACT_MOST];
            int32_t metas, n, actions, i, t;
            size_t size;
            REQUIRE(l_make(&l, (l_algo)algo, (l_shape)shape, 2));
            l_live(&l, 30);
            d.space = l.space; /* with who it is, as the learner has it */
            d.agents = L_AGENTS;
            d.agent = 1;
            d.net = l_net((l_shape)shape, shape == L_PLAIN && l.s);
            if (l.q && shape == L_PLAIN) d.net.dueling = 4;
            p = rllb_nn_policy_create(&d);
            REQUIRE(p);
            CHECK_EQ_I(rllb_nn_net_copy(rllb_nn_policy_net(p), l.q ? rllb_nn_qmix_net(l.q, 1) :
                                                                     rllb_nn_sac_actor(l.s)), RLLB_OK);
            rllb_nn_policy_entries(p, &a);
            metas = rllb_nn_net_meta(rllb_nn_policy_net(p), text, meta);
            size = rllb_nn_archive_size(&a, meta, metas);
            REQUIRE(size > 0 && size < ROOM);
            CHECK_EQ_I(rllb_nn_archive_save(&a, meta, metas, file[0], ROOM), RLLB_OK);
            l_drop(&l);

            CHECK_EQ_I(rllb_nn_policy_desc_load(file[0], size, 0, &loaded), RLLB_OK);
            loaded.agent = 1;
            other = rllb_nn_policy_create(&loaded);
            REQUIRE(other);
            a.count = 0;
            rllb_nn_policy_entries(other, &a);
            CHECK_EQ_I(rllb_nn_archive_load(&a, file[0], size, NULL), RLLB_OK);
            n = rllb_nn_space_observations(&d.space);
            actions = rllb_nn_space_actions(&d.space);
            for (t = 0; t < 4; t++) {
                for (i = 0; i < n; i++) obs[i] = (float)(i * 7 % 5 + t) / 3;
                memset(w, 0xff, sizeof w);
                memset(v, 0xff, sizeof v);
                rllb_nn_policy_control(p, obs, n, w, actions);
                rllb_nn_policy_control(other, obs, n, v, actions);
                for (i = 0; i < actions; i++) CHECK(isfinite(w[i]));
                CHECK_MEM(v, w, sizeof w);
            }
            /* For another number of servers: a set takes it, a plain one says no. */
            CHECK_EQ_I(rllb_nn_policy_desc_load(file[0], size, 5, &loaded), shape >= L_SET ? RLLB_OK
                                                                                          : RLLB_ERROR_SHAPE);
            CHECK(rllb_nn_policy_desc_load(file[0], size - 1, 0, &loaded) != RLLB_OK);
            CHECK_EQ_I(rllb_nn_policy_check(p, n, actions), RLLB_OK);
            CHECK_EQ_I(rllb_nn_policy_check(p, n + 1, actions), RLLB_ERROR_SHAPE);
            CHECK_EQ_I(rllb_nn_policy_check(p, n, actions + 1), RLLB_ERROR_SHAPE);
            a.count = 0;
            rllb_nn_policy_entries(p, &a);
            p->saved[RLLB_I_SAVED_SPACE - 1] = 99; /* as a later version would say */
            CHECK_EQ_I(rllb_nn_archive_save(&a, meta, metas, file[0], ROOM), RLLB_OK);
            CHECK_EQ_I(rllb_nn_policy_desc_load(file[0], size, 0, &loaded), RLLB_ERROR_VERSION);
            rllb_nn_policy_destroy(p);
            rllb_nn_policy_destroy(other);
        }
    }
}

TEST(wrong_lengths_and_numbers_leave_the_action_alone)
{
    rllb_nn_policy_desc d = policy_desc(L_SAC, L_SET_RECURRENT, 0);
    rllb_nn_policy *p = rllb_nn_policy_create(&d);
    float obs[1 + L_ITEMS * L_SEEN] = { 0.5f, 1, 2 }, w[L_ITEMS + 2], untouched[L_ITEMS + 2];

    REQUIRE(p);
    memset(w, 0xff, sizeof w);
    memset(untouched, 0xff, sizeof untouched);
    rllb_nn_policy_control(p, obs, 2 * L_SEEN, w, 2);                 /* no whole number of items */
    rllb_nn_policy_control(p, obs, 1, w, 0);                          /* none at all */
    rllb_nn_policy_control(p, obs, 1 + (L_ITEMS + 1) * L_SEEN, w, L_ITEMS + 1); /* too many: not even read */
    rllb_nn_policy_control(p, obs, 1 + 2 * L_SEEN, w, 4);             /* neither weights nor weights and the rest */
    rllb_nn_policy_control(NULL, obs, 1 + 2 * L_SEEN, w, 3);
    rllb_nn_policy_control(p, NULL, 1 + 2 * L_SEEN, w, 3);
    obs[2] = (float)NAN;
    rllb_nn_policy_control(p, obs, 1 + 2 * L_SEEN, w, 3);
    CHECK_MEM(w, untouched, sizeof w);
    obs[2] = 0;
    rllb_nn_net_data(rllb_nn_policy_net(p))[0] = (float)INFINITY; /* a broken model */
    obs[1] = 1;
    rllb_nn_policy_control(p, obs, 1 + 2 * L_SEEN, w, 3);
    rllb_nn_net_data(rllb_nn_policy_net(p))[0] = 0;
    memset(w, 0xff, sizeof w);
    rllb_nn_policy_control(p, obs, 1 + 2 * L_SEEN, w, 3);
    CHECK(isfinite(w[0]) && isfinite(w[1]) && isfinite(w[2])); /* and it is not remembered */
    rllb_nn_policy_destroy(p);
}

/* In a balancer: weights and dispatch come from the policy, for 3, 7 and 24 servers by one network. */
TEST(a_balancer_is_driven_by_a_policy)
{
    static const int32_t sizes[] = { 3, 7, 24 };
    int which, t;

    for (which = 0; which < 3; which++) {
        rllb_balancer_desc b;
        rllb_counters counted;
        rllb_balancer *balancer;
        rllb_nn_policy_desc d = policy_desc(L_SAC, L_SET_RECURRENT, 24);
        rllb_nn_policy *p;
        d.space.observations = 0;
        d.space.item_observations = 8; /* RLLB_FEATURES_OWN */
        d.space.common = 3;            /* d, a, gamma of the DRAW form */
        rllb_nn_values_linear(1, 6, 3, d.common[0]);
        rllb_nn_values_linear(0.5f, 1.2f, 3, d.common[1]);
        rllb_nn_values_linear(0, 1, 3, d.common[2]);
        p = rllb_nn_policy_create(&d);
        REQUIRE(p);
        rllb_balancer_desc_default(&b);
        b.policy = RLLB_BALANCE_LEARNED;
        b.features = RLLB_FEATURES_OWN;
        b.form = RLLB_FORM_DRAW;
        b.count = sizes[which];
        b.control = rllb_nn_policy_control;
        b.control_self = p;
        b.control_form = true;
        balancer = rllb_balancer_create(&b);
        REQUIRE(balancer);
        for (t = 0; t < 200; t++) {
            double now = 1 + 0.05 * t;
            int32_t server = rllb_balancer_pick(balancer, (uint64_t)t, now);
            CHECK(server >= 0 && server < sizes[which]);
            rllb_balancer_done(balancer, server, now, now + 0.02 * (server + 1), RLLB_OUTCOME_OK);
            rllb_balancer_tick(balancer, now + 0.03);
        }
        rllb_balancer_counters(balancer, &counted);
        CHECK(counted.controls > 20);
        CHECK_EQ_I(counted.controls_refused, 0);
        rllb_balancer_destroy(balancer);
        rllb_nn_policy_destroy(p);
    }
}
