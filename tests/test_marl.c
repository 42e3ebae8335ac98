/* test_marl.c - learners on the flow-level world (examples/common/marl.h)

   What is served is what was learnt: the policy that comes out of a learner, in balancers that tick by themselves,
   makes the very history that the learner makes without exploration. And defaults, worlds, when updates begin. */

#include "marl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static ex_marl_settings tiny(int32_t algo)
{
    ex_marl_settings s;

    ex_marl_settings_default(algo, RLLB_ENV_PRESET_MODERATE, &s);
    s.horizon = 4;
    s.hidden = 8;
    s.mixer = 4;
    s.batch = 2;
    s.updates = 2;
    s.learn_start = 1;
    s.every_step = false;
    s.episodes = 3;
    return s;
}

static void to_set(ex_marl_settings *s)
{
    s->net = EX_MARL_SET;
    s->features = RLLB_FEATURES_OWN;
    s->form = 1;
    s->control_form = true;
    s->actions = EX_MARL_WIDE;
}

static void to_steps(ex_marl_settings *s)
{
    s->net = EX_MARL_SET;
    s->rnn = EX_MARL_NO_RNN;
    s->features = RLLB_FEATURES_RELATIVE;
    s->actions = EX_MARL_STEPS;
    s->reward = RLLB_REWARD_MEAN_LOG;
}

static void to_any(ex_marl_settings *s)
{
    s->smoothing = 0.3;
    s->sample = 0.05;
    s->balancers = 3;
}

static void to_drawn(ex_marl_settings *s)
{
    to_steps(s);
    s->randomise = true;
    s->servers = 5;
    s->balancers = 2;
}

static void to_pages(ex_marl_settings *s)
{
    s->pages = true;
    s->form = 1;
}

/* Durations of what completed: their sum, in the order in which they came to an end. */
typedef struct heard {
    double sum, count;
} heard;

static void hear(void *self, const rllb_env_flow *f)
{
    heard *h = self;

    if (f->fate != RLLB_ENV_COMPLETED) return;
    h->sum += (double)(float)(f->ended_s - f->arrived_s);
    h->count++;
}

TEST(what_is_served_is_what_was_learnt)
{
    static const struct {
        const char *name;
        int32_t algo;
        void (*change)(ex_marl_settings *s);
    } cases[] = {
        { "qmix", EX_MARL_QMIX, NULL },         { "isac, a set, the form too", EX_MARL_ISAC, to_set },
        { "vdn, steps", EX_MARL_VDN, to_steps }, { "rlb-sac", EX_MARL_RLB_SAC, to_any },
        { "ssac", EX_MARL_SSAC, NULL },         { "distr-lb, pages", EX_MARL_DISTR_LB, to_pages },
        { "vdn, random", EX_MARL_VDN, to_drawn },
    };
    size_t i;
    int32_t k;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        ex_marl_settings s = tiny(cases[i].algo);
        ex_pages pages = { 0 };
        rllb_nn_policy *policy;
        rllb_env_flows_desc d;
        rllb_env_flows *w;
        ex_model_info info;
        ex_marl_row row;
        ex_model model;
        heard h = { 0, 0 };
        ex_marl *m;
        NOTE("%s", cases[i].name);
        if (cases[i].change) cases[i].change(&s);
        m = ex_marl_create(&s);
        REQUIRE(m != NULL);
        for (k = 0; k < s.episodes; k++) REQUIRE(ex_marl_episode(m, &row) == EX_OK);
        CHECK(row.updates > 0);
        CHECK_EQ_I(ex_marl_judge(m, 5, &row), EX_OK);
        REQUIRE(ex_marl_model(m, 0, &policy, &info));
        REQUIRE(ex_model_make(policy, &info, "it", &model));
        rllb_nn_policy_destroy(policy);
        REQUIRE(ex_marl_world(m, 5, &pages, &d));
        REQUIRE(ex_model_apply(&model, &d));
        w = rllb_env_flows_create(&d);
        REQUIRE(w != NULL);
        rllb_env_flows_listen(w, hear, &h);
        rllb_env_flows_run(w, ceil(d.horizon_s / d.step_s - 1e-9) * d.step_s);
        CHECK_NEAR(h.count, row.completed, 0);
        CHECK_NEAR(h.sum / h.count, row.jct_mean, 0);
        rllb_env_flows_destroy(w);
        ex_model_close(&model);
        ex_pages_free(&pages);
        ex_marl_destroy(m);
    }
}

/* Worlds to judge by are the same for all seeds, those of training are not; and neither meets the other. */
TEST(worlds_of_training_and_judging)
{
    ex_marl_settings s = tiny(EX_MARL_IQL);
    rllb_env_flows_desc d, e;
    ex_marl_row a, b, c;
    ex_marl *one, *two;

    s.updates = 0;
    one = ex_marl_create(&s);
    s.seed = 2;
    two = ex_marl_create(&s);
    REQUIRE(one && two);
    CHECK_EQ_I(ex_marl_episode(one, &a), EX_OK);
    CHECK_EQ_I(ex_marl_episode(two, &b), EX_OK);
    CHECK(a.rate == b.rate && a.completed != b.completed);
    CHECK_EQ_I(ex_marl_judge(one, 0, &c), EX_OK);
    CHECK(a.rate == c.rate && a.completed != c.completed);
    REQUIRE(ex_marl_world(one, 3, NULL, &d) && ex_marl_world(two, 3, NULL, &e));
    CHECK(d.seed == e.seed && d.stream == e.stream && d.stream != EX_MARL_STREAM);
    ex_marl_destroy(one);
    ex_marl_destroy(two);
}

TEST(defaults_of_the_papers)
{
    ex_marl_settings s;

    ex_marl_settings_default(EX_MARL_QMIX, RLLB_ENV_PRESET_MODERATE, &s); /* Table 2 of CIKM'22 */
    CHECK(s.lr == 1e-3 && s.hidden == 128 && s.batch == 12 && s.episodes == 72 && s.horizon == 60);
    CHECK(s.interval == 0.25 && s.updates == 25 && s.learn_start == 25 && s.reward == (int32_t)RLLB_REWARD_PRODUCT);
    CHECK(s.reward_of == EX_MARL_SHARED && s.weights == EX_WEIGHTS_EQUAL && s.rates.count == 8);
    ex_marl_settings_default(EX_MARL_ISAC, RLLB_ENV_PRESET_LARGE, &s);
    CHECK(s.lr == 3e-4 && s.hidden == 512 && s.batch == 12 && s.horizon == 30 && s.reward_of == EX_MARL_OWN);
    ex_marl_settings_default(EX_MARL_DISTR_LB, RLLB_ENV_PRESET_MODERATE, &s);
    CHECK(s.reward == (int32_t)RLLB_REWARD_VARIANCE_BOTH);
    ex_marl_settings_default(EX_MARL_RLB_SAC, RLLB_ENV_PRESET_SEED4_A, &s); /* 2111.00008 */
    CHECK(s.features == (int32_t)RLLB_FEATURES_NEURIPS && s.actions == EX_MARL_CONTINUOUS && s.smoothing == 0.5);
    CHECK(s.interval == 0.5 && s.reward == (int32_t)RLLB_REWARD_JAIN && s.batch == 64 && s.updates == 10);
}

/* 72 episodes with 25 updates after each from the 26th on: 1,175, as published; here in small. */
TEST(updates_begin_behind_the_start)
{
    ex_marl_settings s = tiny(EX_MARL_VDN);
    ex_marl_row row;
    ex_marl *m;
    int32_t k;

    s.learn_start = 3;
    s.episodes = 5;
    m = ex_marl_create(&s);
    REQUIRE(m != NULL);
    for (k = 0; k < s.episodes; k++) {
        REQUIRE(ex_marl_episode(m, &row) == EX_OK);
        CHECK_NEAR(row.updates, k < 3 ? 0 : (k - 2) * s.updates, 0);
        CHECK(isnan(row.loss) == (k < 3));
        CHECK_NEAR(row.rate, s.rates.values[k], 0);
    }
    CHECK_EQ_I(ex_marl_episodes(m), 5);
    ex_marl_destroy(m);
}
