/* test_nn_golden_learners.c - what PyTorch says of sequences, sets, mixers and whole updates of the learners

   The fixtures of make_golden_learners.py, by every kernel set. They know no padding: each sequence was computed alone
   over the steps it has, each set over the items it has. Here they lie padded side by side. Tolerances: 1e-5 of the
   largest value of a tensor, 1e-6 for parameters after an optimiser's step. Runs in the project's root folder. */

#include <stdlib.h>

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"
#include "test_nn_golden.h"

/* The named fixture, opened once: they are many, and taken by each kernel set. NULL if the machine lacks the set. */
static fixture *begin(int set, const char *name)
{
    static fixture opened[16];
    static const char *names[16];
    int i;

    if (!nn_kernels(set)) return NULL;
    worst = 0;
    NOTE("%s, %s", nn_sets[set].name, name);
    for (i = 0; i < 16; i++) {
        if (names[i] && strcmp(names[i], name) != 0) continue;
        if (!names[i]) CHECK(fixture_open(&opened[i], name));
        names[i] = name;
        return opened[i].bytes ? &opened[i] : NULL;
    }
    abort();
}

/* Parameters from the fixture. That model files load is test_nn_golden's matter; this is many times quicker. */
static bool lay_parameters(fixture *f, rllb_nn_net *net, const char *prefix)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    bool ok = true;
    int32_t e;

    rllb_i_parameter_entries(net, net->data, "", &a);
    for (e = 0; e < a.count; e++) {
        int64_t r, c;
        size_t n;
        const float *from = take(f, prefix, entries[e].name, &n);
        if ((int64_t)n != entries[e].shape[0] * entries[e].shape[1]) ok = false;
        for (r = 0; ok && r < entries[e].shape[0]; r++) {
            for (c = 0; c < entries[e].shape[1]; c++) {
                float *to = entries[e].panels ? rllb_i_panel_element(&entries[e], r, c) : (float *)entries[e].data + r;
                *to = from[r * entries[e].shape[1] + c];
            }
        }
    }
    return ok && a.count > 0 && !a.overflow;
}

/* Sets that do not fuse give the same bits. The first one's numbers are kept, the others' compared. */
typedef struct same_bits {
    float *data;
    size_t n;
} same_bits;

static void check_bits(same_bits *first, int set, const float *data, size_t n)
{
    if (!nn_sets[set].portable) return;
    if (!first->data) {
        first->data = (float *)malloc(n * sizeof(float));
        if (!first->data) abort();
        memcpy(first->data, data, n * sizeof(float));
        first->n = n;
        return;
    }
    CHECK_EQ_I(n, first->n);
    CHECK_MEM(data, first->data, n * sizeof(float));
}

/* Equal as numbers: 0 and -0 are. */
static bool equal(const float *a, const float *b, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (!(a[i] == b[i])) return false;
    }
    return true;
}

/* ---- sequences --------------------------------------------------------------------------------------------- */

/* Whether output o of a row of so many items, of which n are there, is one. */
static bool is_there(const rllb_nn_net_desc *d, int32_t o, int32_t items, int32_t n)
{
    return !d->item_inputs || o >= items * d->item_outputs || o < n * d->item_outputs;
}

/* Forward, states, loss, and the way back, without and with a burn-in. */
static void check_sequences(int set, const char *name, rllb_nn_net_desc d, int32_t items, same_bits *bits)
{
    fixture *f = begin(set, name);
    rllb_nn_net *net;
    rllb_nn_work *work;
    rllb_nn_pass pass;
    float *x, *y, *length, *counts_f, *start, *state, *out, *dy, *dx, *gradient, *after, loss, *keep;
    int32_t steps = 0, rows, wide, width, states, t, r, o, burn, turn;
    int32_t counts[8];
    size_t n, row_count;

    if (!f) return;
    d.isa = nn_sets[set].isa;
    d.portable = nn_sets[set].portable;
    net = rllb_nn_net_create(&d);
    if (!net) abort();
    CHECK(lay_parameters(f, net, "net."));
    length = take(f, "", "length", &row_count);
    counts_f = take(f, "", "items", NULL);
    rows = (int32_t)row_count;
    for (r = 0; r < rows; r++) counts[r] = (int32_t)counts_f[r];
    for (r = 0; r < rows; r++) steps = (int32_t)length[r] > steps ? (int32_t)length[r] : steps;
    x = take(f, "", "x", &n);
    width = rllb_nn_net_inputs(net, items);
    wide = rllb_nn_net_outputs(net, items);
    states = rllb_nn_net_states(net, items);
    CHECK_EQ_I(n, steps * rows * width);
    y = take(f, "", "y", &n);
    CHECK_EQ_I(n, steps * rows * wide);
    start = take(f, "", "state", &n);
    CHECK_EQ_I(n, rows * states);
    after = take(f, "", "state_after", NULL);
    work = rllb_nn_pass_create(net, rows, steps, items, true);
    out = nn_floats((size_t)(steps * rows * wide));
    dy = nn_floats((size_t)(steps * rows * wide));
    keep = nn_floats((size_t)(steps * rows * wide));
    dx = nn_floats((size_t)(steps * rows * width));
    state = nn_floats((size_t)(rows * states));
    gradient = nn_floats(rllb_nn_net_floats(net));
    if (!work) abort();
    for (turn = 0; turn < 2; turn++) {
        int32_t counted = 0;
        double sum = 0;
        burn = turn ? (int32_t)one(f, "", "burn") : 0;
        memset(&pass, 0, sizeof pass);
        pass.x = x;
        pass.rows = rows;
        pass.steps = steps;
        pass.items = items;
        pass.counts = d.item_inputs ? counts : NULL;
        pass.state = state;
        pass.burn = burn;
        memcpy(state, start, (size_t)(rows * states) * sizeof(float));
        rllb_nn_pass_forward(net, work, &pass, out);
        for (t = 0; t < steps; t++) {
            for (r = 0; r < rows; r++) {
                for (o = 0; o < wide; o++) {
                    int32_t at = (t * rows + r) * wide + o;
                    bool there = t < (int32_t)length[r] && is_there(&d, o, items, counts[r]);
                    keep[at] = there ? out[at] : 0;
                    dy[at] = there && t >= burn ? 2 * (out[at] - y[at]) : 0;
                    if (!there || t < burn) continue;
                    sum += (double)(out[at] - y[at]) * (double)(out[at] - y[at]);
                    counted++;
                }
            }
        }
        for (o = 0; o < steps * rows * wide; o++) dy[o] /= (float)counted;
        loss = (float)(sum / counted);
        rllb_nn_pass_backward(net, work, &pass, dy, gradient, dx);
        if (!turn) CHECK(agree_tensor(f, "", "out", keep, (size_t)(steps * rows * wide), 1e-5));
        for (r = 0; r < rows; r++) { /* where there is padding, or no item, the state goes on into nowhere */
            int32_t there = d.item_inputs ? counts[r] * d.gru : states;
            if ((int32_t)length[r] < steps) continue;
            CHECK(agree(state + r * states, after + r * states, (size_t)there, 1e-5));
        }
        CHECK(agree_tensor(f, turn ? "burn." : "", "loss", &loss, 1, 1e-5));
        CHECK(agree_tensor(f, turn ? "burn." : "", "grad_x", dx, (size_t)(steps * rows * width), 1e-5));
        CHECK(agree_parameters(f, net, gradient, 1, turn ? "burn.grad." : "grad.", 1e-5));
    }
    check_bits(bits, set, gradient, rllb_nn_net_floats(net));
    free(out);
    free(dy);
    free(dx);
    free(keep);
    free(state);
    free(gradient);
    rllb_nn_work_destroy(work);
    rllb_nn_net_destroy(net);
    NOTE("%s, %s: off by %.1e", nn_sets[set].name, name, worst);
}

TEST(sequences_and_sets)
{
    same_bits bits[3] = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
    rllb_nn_net_desc d;
    int set;

    for (set = 0; set < NN_SETS; set++) {
        rllb_nn_net_desc_default(&d);
        d.activation = RLLB_NN_TANH;
        d.inputs = 5;
        d.outputs = 3;
        d.hidden[0] = 8;
        d.gru = 12;
        d.after[0] = 9;
        check_sequences(set, "gru", d, 1, &bits[0]);
        d.inputs = 3;
        d.outputs = 2;
        d.hidden[0] = -1;
        d.gru = 19;
        d.after[0] = 0;
        check_sequences(set, "gru_wide", d, 1, &bits[1]);
        d.inputs = 2;
        d.outputs = 3;
        d.item_inputs = 4;
        d.item_outputs = 2;
        d.hidden[0] = 8;
        d.gru = 6;
        d.after[0] = 9;
        d.after[1] = 5;
        check_sequences(set, "set_gru", d, 4, &bits[2]);
    }
    for (set = 0; set < 3; set++) free(bits[set].data);
}

/* ---- batches ----------------------------------------------------------------------------------------------- */

static void lay(fixture *f, const char *name, float *to)
{
    size_t n;
    const float *from = take(f, "", name, &n);
    memcpy(to, from, n * sizeof(float));
}

static void lay_flags(fixture *f, const char *name, unsigned char *to)
{
    size_t n, i;
    const float *from = take(f, "", name, &n);
    for (i = 0; i < n; i++) to[i] = from[i] != 0;
}

static void lay_numbers(fixture *f, const char *name, int32_t *to)
{
    size_t n, i;
    const float *from = take(f, "", name, &n);
    for (i = 0; i < n; i++) to[i] = (int32_t)from[i];
}

static void lay_batch(fixture *f, rllb_nn_sequences *b, bool states, bool memories)
{
    size_t rows, r;

    take(f, "", "length", &rows);
    lay(f, "obs", b->obs);
    lay(f, "action", b->action);
    lay(f, "reward", b->reward);
    lay(f, "before", b->before);
    if (states) lay(f, "state", b->state);
    if (memories) lay(f, "memory", b->memory);
    lay_flags(f, "filled", b->filled);
    lay_flags(f, "terminated", b->terminated);
    lay_numbers(f, "items", b->items);
    lay_numbers(f, "length", b->length);
    b->steps = 0;
    for (r = 0; r < rows; r++) b->steps = b->length[r] > b->steps ? b->length[r] : b->steps;
}

/* Anything at all behind the end of every row: large numbers, ends, decisions that there are not. */
static void spoil_padding(rllb_nn_sequences *b, const rllb_nn_episodes_desc *d, int32_t rows)
{
    int32_t t, r, i, obs = d->agents * d->observations, actions = d->agents * d->actions;
    rllb_rng rng;

    rllb_rng_init(&rng, 99, 0);
    for (t = 0; t <= b->steps; t++) {
        for (r = 0; r < rows; r++) {
            int32_t cell = t * rows + r;
            if (t > b->length[r]) {
                for (i = 0; i < obs; i++) b->obs[cell * obs + i] = rllb_rng_range(&rng, -50, 50);
                for (i = 0; i < d->states; i++) b->state[cell * d->states + i] = rllb_rng_range(&rng, -50, 50);
            }
            if (t < b->length[r] || t == b->steps) continue;
            for (i = 0; i < actions; i++) b->action[cell * actions + i] = rllb_rng_range(&rng, -9, 9);
            for (i = 0; i < d->agents; i++) b->reward[cell * d->agents + i] = rllb_rng_range(&rng, -1e6f, 1e6f);
            b->terminated[cell] = 1;
        }
    }
}

static void learner_space(rllb_nn_space *s, const char *which)
{
    memset(s, 0, sizeof *s);
    s->choices = 3;
    s->last_action = true;
    if (strcmp(which, "servers") == 0) {
        s->observations = 2;
        s->item_observations = 3;
        s->items = 4;
        s->common = 1;
        s->agent_id = true;
        return;
    }
    s->observations = strcmp(which, "flat") == 0 ? 4 : 3;
    s->heads = 2;
    s->agent_id = strcmp(which, "flat") == 0;
}

/* ---- the mixer and the value-based learners ---------------------------------------------------------------- */

static const char *const hyper_names[RLLB_I_HYPERS] = { "w1", "b1", "w2", "v" };

static bool load_hyper(fixture *f, rllb_nn_net *const net[RLLB_I_HYPERS], const char *prefix)
{
    bool ok = true;
    char text[60];
    int i;

    for (i = 0; i < RLLB_I_HYPERS; i++) {
        snprintf(text, sizeof text, "%s%s.", prefix, hyper_names[i]);
        ok = lay_parameters(f, net[i], text) && ok;
    }
    return ok;
}

/* Whether `data`, an array laid out as all parameters of the learner, is PREFIX* of the fixture. */
static bool agree_learner(fixture *f, const rllb_nn_qmix *q, float *data, const char *prefix, double tolerance)
{
    bool ok = true;
    char text[60];
    int i;

    for (i = 0; i < q->nets; i++) {
        snprintf(text, sizeof text, "%snet.%d.", prefix, i);
        ok = agree_parameters(f, q->net[i], data + (q->net[i]->data - q->data), 1, text, tolerance) && ok;
    }
    for (i = 0; q->hyper[0] && i < RLLB_I_HYPERS; i++) {
        snprintf(text, sizeof text, "%shyper.%s.", prefix, hyper_names[i]);
        ok = agree_parameters(f, q->hyper[i], data + (q->hyper[i]->data - q->data), 1, text, tolerance) && ok;
    }
    return ok;
}

TEST(mixer)
{
    int set;

    for (set = 0; set < NN_SETS; set++) {
        enum { ROWS = 9, INPUTS = 5 };
        fixture *f = begin(set, "mixer");
        rllb_nn_qmix_desc d;
        rllb_nn_qmix *q;
        float y[ROWS], dq[ROWS * INPUTS], *given, *state, *dy;
        int i;
        if (!f) continue;
        rllb_nn_qmix_desc_default(&d);
        d.space.observations = 1;
        d.space.choices = 2;
        d.agents = INPUTS;
        d.mix = RLLB_NN_MIX_QMIX;
        d.states = 3;
        d.embed = 6;
        d.hyper = 7;
        d.batch = ROWS;
        d.net.isa = nn_sets[set].isa;
        d.net.portable = nn_sets[set].portable;
        d.replay.capacity = 20;
        d.replay.steps = 2;
        q = rllb_nn_qmix_create(&d);
        REQUIRE(q);
        CHECK(load_hyper(f, q->hyper, "hyper."));
        given = take(f, "", "q", NULL);
        state = take(f, "", "state", NULL);
        dy = take(f, "", "dy", NULL);
        rllb_i_mixer_forward(&q->mixer, given, state, ROWS, y);
        CHECK(agree_tensor(f, "", "y", y, ROWS, 1e-5));
        rllb_i_mixer_backward(&q->mixer, given, dy, ROWS, dq, q->gradient, q->data);
        CHECK(agree_tensor(f, "", "grad_q", dq, ROWS * INPUTS, 1e-5));
        for (i = 0; i < RLLB_I_HYPERS; i++) {
            char text[60];
            snprintf(text, sizeof text, "grad.hyper.%s.", hyper_names[i]);
            CHECK(agree_parameters(f, q->hyper[i], q->gradient + (q->hyper[i]->data - q->data), 1, text, 1e-5));
        }
        rllb_nn_qmix_destroy(q);
        NOTE("%s, mixer: off by %.1e", nn_sets[set].name, worst);
    }
}

static rllb_nn_qmix_desc qmix_desc(const char *name)
{
    rllb_nn_qmix_desc d;

    rllb_nn_qmix_desc_default(&d);
    d.agents = 2;
    d.net.activation = RLLB_NN_TANH;
    d.embed = 4;
    d.hyper = 7;
    d.batch = d.replay.steps = 4;
    d.replay.capacity = 40;
    if (strcmp(name, "qmix") == 0) {
        learner_space(&d.space, "flat");
        d.mix = RLLB_NN_MIX_QMIX;
        d.states = 5;
        d.double_q = true;
        d.net.hidden[0] = 6;
        d.net.gru = 5;
    } else if (strcmp(name, "qmix_apart") == 0) {
        learner_space(&d.space, "small");
        d.space.last_action = false;
        d.mix = RLLB_NN_MIX_QMIX;
        d.apart = d.bounded = d.stored = true;
        d.burn = 1;
        d.hyper = -1;
        d.net.hidden[0] = -1;
        d.net.gru = 5;
        d.net.after[0] = 6;
    } else if (strcmp(name, "vdn_set") == 0) {
        learner_space(&d.space, "servers");
        d.mix = RLLB_NN_MIX_SUM;
        d.net.hidden[0] = 5;
        d.net.gru = 4;
    } else {
        learner_space(&d.space, "flat");
        d.mix = RLLB_NN_MIX_NONE;
        d.double_q = true;
        d.loss = RLLB_NN_HUBER;
        d.net.hidden[0] = 7;
        d.net.dueling = 5;
    }
    return d;
}

static rllb_nn_qmix *qmix_make(fixture *f, rllb_nn_qmix_desc d, int set)
{
    rllb_nn_qmix *q;
    float lambda = one(f, "", "lam"), clip = one(f, "", "clip");
    char text[60];
    int i;

    d.net.isa = nn_sets[set].isa;
    d.net.portable = nn_sets[set].portable;
    d.gamma = one(f, "", "gamma");
    d.lambda = lambda > 0 ? lambda : -1;
    d.opt.lr.from = (double)one(f, "", "lr");
    d.opt.clip_norm = clip > 0 ? clip : -1;
    d.tau = one(f, "", "tau");
    q = rllb_nn_qmix_create(&d);
    if (!q) abort();
    for (i = 0; i < q->nets; i++) {
        snprintf(text, sizeof text, "net.%d.", i);
        CHECK(lay_parameters(f, q->net[i], text));
        snprintf(text, sizeof text, "target.net.%d.", i);
        CHECK(lay_parameters(f, q->target[i], text));
    }
    if (q->hyper[0]) CHECK(load_hyper(f, q->hyper, "hyper."));
    if (q->hyper[0]) CHECK(load_hyper(f, q->hyper_target, "target.hyper."));
    lay_batch(f, &q->batch, d.states > 0, d.stored);
    return q;
}

static void check_qmix(int set, const char *name, bool whole, same_bits *bits)
{
    rllb_nn_qmix_desc d = qmix_desc(name);
    rllb_nn_qmix *q, *spoiled;
    rllb_nn_qmix_report report, other;
    fixture *f = begin(set, name);
    int32_t i;

    if (!f) return;
    q = qmix_make(f, d, set);
    memset(&report, 0, sizeof report);
    CHECK_EQ_I(rllb_i_qmix_learn(q, &report), RLLB_OK);
    for (i = 0; i < q->batch.steps * d.batch * q->units; i++) {
        if (!q->batch.filled[i / q->units]) q->target_value[i] = 0;
    }
    CHECK(agree_tensor(f, "", "targets", q->target_value, (size_t)(q->batch.steps * d.batch * q->units), 1e-5));
    CHECK(agree_tensor(f, "", "loss", &report.loss, 1, 1e-5));
    CHECK(agree_tensor(f, "", "norm", &report.gradient_norm, 1, 1e-5));
    CHECK(agree_learner(f, q, q->gradient, "grad.", 1e-5));
    if (whole) CHECK(agree_learner(f, q, q->data, "after.", 1e-6));
    if (whole) CHECK(agree_learner(f, q, q->target_data, "target_after.", 1e-6));
    check_bits(bits, set, q->data, q->floats);

    spoiled = qmix_make(f, d, set);
    spoil_padding(&spoiled->batch, &spoiled->replay->desc, d.batch);
    memset(&other, 0, sizeof other);
    CHECK_EQ_I(rllb_i_qmix_learn(spoiled, &other), RLLB_OK);
    CHECK(report.loss == other.loss && report.mean_target == other.mean_target);
    CHECK(equal(spoiled->gradient, q->gradient, q->floats));
    CHECK(equal(spoiled->data, q->data, q->floats));
    rllb_nn_qmix_destroy(spoiled);
    rllb_nn_qmix_destroy(q);
    NOTE("%s, %s: off by %.1e", nn_sets[set].name, name, worst);
}

TEST(value_based_updates)
{
    static const char *const names[] = { "qmix", "qmix_apart", "vdn_set", "iql_dueling" };
    int set, i;

    for (i = 0; i < 4; i++) {
        same_bits bits = { NULL, 0 };
        for (set = 0; set < NN_SETS; set++) check_qmix(set, names[i], i == 0, &bits);
        free(bits.data);
    }
}

/* ---- soft actor-critic ------------------------------------------------------------------------------------- */

static rllb_nn_sac_desc sac_desc(const char *name)
{
    rllb_nn_sac_desc d;

    rllb_nn_sac_desc_default(&d);
    d.agents = 2;
    d.actor.activation = RLLB_NN_TANH;
    d.batch = d.replay.steps = 4;
    d.replay.capacity = 40;
    if (strcmp(name, "sac") == 0 || strcmp(name, "sac_gaussian") == 0) { /* no memory: windows of two steps */
        bool continuous = strcmp(name, "sac") != 0;
        learner_space(&d.space, continuous ? "small" : "flat");
        d.space.agent_id = true;
        d.batch = 5;
        d.window = d.replay.steps = 2;
        d.actor.hidden[0] = 7;
        if (continuous) {
            d.space.choices = 0;
            d.normalise_rewards = true;
            d.critic.activation = RLLB_NN_TANH;
            d.critic.hidden[0] = 8;
        }
    } else if (strcmp(name, "sac_gru") == 0) {
        learner_space(&d.space, "small");
        d.actor.hidden[0] = d.actor.gru = 5;
        d.burn = 1;
    } else if (strcmp(name, "sac_set") == 0) {
        learner_space(&d.space, "servers");
        d.actor.hidden[0] = -1;
        d.actor.gru = 4;
        d.stored = d.normalise_rewards = true;
    } else if (strcmp(name, "sac_gaussian_set") == 0) {
        d.space.observations = d.space.item_observations = 2;
        d.space.items = 3;
        d.space.common = 1;
        d.space.last_action = true;
        d.replay.steps = 3;
        d.actor.hidden[0] = d.actor.gru = 4;
        d.burn = 1;
    } else {
        learner_space(&d.space, "small");
        d.agents = 1;
        d.form = RLLB_NN_SAC_RELEASED;
        d.actor.hidden[0] = d.actor.gru = 4;
    }
    return d;
}

static rllb_nn_sac *sac_make(fixture *f, rllb_nn_sac_desc d, int set)
{
    rllb_nn_sac *s;
    char text[60];
    int i;

    d.actor.isa = nn_sets[set].isa;
    d.actor.portable = nn_sets[set].portable;
    d.gamma = one(f, "", "gamma");
    d.tau = one(f, "", "tau");
    d.alpha = one(f, "", "alpha");
    d.entropy = one(f, "", "entropy");
    d.reward_scale = one(f, "", "reward_scale");
    d.actor_opt.lr.from = d.critic_opt.lr.from = d.alpha_opt.lr.from = (double)one(f, "", "lr");
    d.critic_opt.clip_norm = one(f, "", "clip");
    d.seed = (uint64_t)one(f, "", "seed");
    s = rllb_nn_sac_create(&d);
    if (!s) abort();
    CHECK(lay_parameters(f, s->actor, "actor."));
    for (i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "critic.%d.", i);
        CHECK(lay_parameters(f, s->critic[i], text));
        snprintf(text, sizeof text, "target.%d.", i);
        CHECK(lay_parameters(f, s->target[i], text));
    }
    lay_batch(f, &s->batch, false, d.stored);
    return s;
}

/* Noise and actions that were drawn: of padding too, but in the fixture only where there is something. */
static void check_draws(fixture *f, rllb_nn_sac *s)
{
    int32_t row = rllb_i_sac_row(s), cells = (s->batch.steps + 1) * row, i, d;
    size_t n = (size_t)(cells * s->actions);

    if (!s->desc.space.choices) CHECK(agree_tensor(f, "", "noise", s->noise, n, 1e-6));
    for (i = 0; i < cells; i++) {
        if (i / row <= s->batch.length[i % row / s->desc.agents]) continue;
        for (d = 0; d < s->actions; d++) s->drawn[i * s->actions + d] = 0;
    }
    CHECK(agree_tensor(f, "", "drawn", s->drawn, n, 1e-5));
}

static void check_sac(int set, const char *name, bool whole, same_bits *bits)
{
    rllb_nn_sac_desc d = sac_desc(name);
    rllb_nn_sac *s, *spoiled;
    rllb_nn_sac_report report, other;
    fixture *f = begin(set, name);
    char text[60];
    int32_t i, row, n;

    if (!f) return;
    s = sac_make(f, d, set);
    row = rllb_i_sac_row(s);
    n = s->batch.steps * row;
    memset(&report, 0, sizeof report);
    CHECK_EQ_I(rllb_i_sac_learn(s, &report), RLLB_OK);
    for (i = 0; i < n; i++) {
        if (!s->batch.filled[i / d.agents]) s->wanted[i] = 0;
    }
    if (s->asked) check_draws(f, s);
    CHECK(agree_tensor(f, "", "wanted", s->wanted, (size_t)n, 1e-5));
    CHECK(agree_tensor(f, "", "critic_loss", &report.critic_loss, 1, 1e-5));
    CHECK(agree_tensor(f, "", "actor_loss", &report.actor_loss, 1, 1e-5));
    CHECK(agree_tensor(f, "", "policy_entropy", &report.entropy, 1, 1e-5));
    CHECK(agree_tensor(f, "", "grad_log_alpha", s->alpha_gradient, 1, 1e-5));
    CHECK(agree_tensor(f, "", "log_alpha_after", s->log_alpha, 1, 1e-6));
    CHECK(agree_parameters(f, s->actor, s->actor_gradient, 1, "grad.actor.", 1e-5));
    if (whole) CHECK(agree_parameters(f, s->actor, s->actor->data, 1, "after.actor.", 1e-6));
    for (i = 0; i < 2; i++) {
        float *gradient = s->critic_gradient + (size_t)i * s->critic_floats;
        snprintf(text, sizeof text, "grad.critic.%d.", (int)i);
        CHECK(agree_parameters(f, s->critic[i], gradient, 1, text, 1e-5));
        snprintf(text, sizeof text, "after.critic.%d.", (int)i);
        if (whole) CHECK(agree_parameters(f, s->critic[i], s->critic[i]->data, 1, text, 1e-6));
        snprintf(text, sizeof text, "after.target.%d.", (int)i);
        if (whole) CHECK(agree_parameters(f, s->target[i], s->target[i]->data, 1, text, 1e-6));
    }
    check_bits(bits, set, s->actor->data, s->actor->floats);

    spoiled = sac_make(f, d, set);
    spoil_padding(&spoiled->batch, &spoiled->replay->desc, d.batch);
    memset(&other, 0, sizeof other);
    CHECK_EQ_I(rllb_i_sac_learn(spoiled, &other), RLLB_OK);
    CHECK(report.critic_loss == other.critic_loss && report.actor_loss == other.actor_loss);
    CHECK(report.entropy == other.entropy && report.mean_value == other.mean_value);
    CHECK(equal(spoiled->actor->data, s->actor->data, s->actor->floats));
    CHECK(equal(spoiled->critics, s->critics, 2 * s->critic_floats));
    CHECK(equal(spoiled->log_alpha, s->log_alpha, 1));
    rllb_nn_sac_destroy(spoiled);
    rllb_nn_sac_destroy(s);
    NOTE("%s, %s: off by %.1e", nn_sets[set].name, name, worst);
}

TEST(soft_actor_critic_updates)
{
    static const char *const names[] = { "sac",     "sac_gaussian",     "sac_gru",
                                         "sac_set", "sac_gaussian_set", "sac_released" };
    int set, i;

    for (i = 0; i < 6; i++) {
        same_bits bits = { NULL, 0 };
        for (set = 0; set < NN_SETS; set++) check_sac(set, names[i], i < 2, &bits);
        free(bits.data);
    }
}
