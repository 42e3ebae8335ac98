/* test_nn_golden.c - what PyTorch says: every fixture of tests/golden, by every kernel set

   Tolerances: 1e-5 of the largest value of a tensor, 1e-6 for parameters after a step of an optimiser. The fixtures
   hold float64 results rounded once, so all of a difference is ours. Not covered, because rllb_nn.h has no such thing:
   Nesterov's momentum (optim) and the gradients through a softmax (softmax). Runs in the project's root folder. */

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"
#include "test_nn_golden.h"

/* The named set's kernels in every descriptor; false if the machine has none. */
static bool begin(int set, const char *fixture_name)
{
    if (!nn_kernels(set)) return false;
    worst = 0;
    NOTE("%s, %s", nn_sets[set].name, fixture_name);
    return true;
}

/* ---- networks ---------------------------------------------------------------------------------------------- */

/* Forward, loss, gradients of a fixture of the "mlp" family. */
static void check_mlp(int set, const char *name, rllb_nn_net_desc d)
{
    fixture f;
    rllb_nn_net *net;
    rllb_nn_work *work;
    float *x, *y, *out, *dout, *dx, *gradient, loss;
    size_t xs, ys;
    int32_t rows;

    if (!begin(set, name)) return;
    CHECK(fixture_open(&f, name));
    if (!f.bytes) return;
    d.isa = nn_sets[set].isa;
    d.portable = nn_sets[set].portable;
    net = rllb_nn_net_create(&d);
    if (!net) abort();
    CHECK(load(&f, net, ""));
    x = take(&f, "", "x", &xs);
    y = take(&f, "", "y", &ys);
    rows = (int32_t)xs / d.inputs;
    CHECK_EQ_I(ys, rows * d.outputs);
    work = rllb_nn_work_create(net, rows, true);
    out = (float *)malloc(ys * sizeof(float));
    dout = (float *)malloc(ys * sizeof(float));
    dx = (float *)malloc(xs * sizeof(float));
    gradient = nn_floats(rllb_nn_net_floats(net));
    if (!work || !out || !dout || !dx) abort();
    rllb_nn_forward(net, work, x, rows, out);
    CHECK(agree_tensor(&f, "", "out", out, ys, 1e-5));
    loss = rllb_nn_loss_mean(RLLB_NN_MSE, 0, out, y, NULL, ys, dout);
    CHECK(agree_tensor(&f, "", "loss", &loss, 1, 1e-5));
    rllb_nn_backward(net, work, dout, rows, gradient, dx);
    CHECK(agree_tensor(&f, "grad.", "x", dx, xs, 1e-5));
    CHECK(agree_parameters(&f, net, gradient, 1, "grad.", 1e-5));
    NOTE("%s, %s: off by %.1e", nn_sets[set].name, name, worst);
    free(out);
    free(dout);
    free(dx);
    free(gradient);
    rllb_nn_work_destroy(work);
    rllb_nn_net_destroy(net);
    fixture_close(&f);
}

TEST(mlp)
{
    static const rllb_nn_activation kinds[] = { RLLB_NN_RELU, RLLB_NN_LEAKY_RELU, RLLB_NN_TANH, RLLB_NN_SIGMOID,
                                                RLLB_NN_ELU };
    rllb_nn_net_desc d;
    int set, i;

    for (set = 0; set < NN_SETS; set++) {
        rllb_nn_net_desc_default(&d);
        d.inputs = 5;
        d.outputs = 3;
        d.hidden[0] = 16;
        d.hidden[1] = 7;
        for (i = 0; i < 5; i++) {
            char name[40];
            d.activation = kinds[i];
            snprintf(name, sizeof name, "mlp_%s", rllb_nn_activation_name(kinds[i]));
            check_mlp(set, name, d);
        }
        d.activation = RLLB_NN_RELU;
        d.inputs = 9;
        d.outputs = 1;
        d.hidden[0] = d.hidden[1] = 64;
        check_mlp(set, "mlp_wide_9", d);
        d.inputs = d.outputs = 3;
        d.hidden[0] = 40;
        d.hidden[1] = 24;
        check_mlp(set, "mlp_wide_3", d);
        rllb_nn_net_desc_default(&d);
        d.inputs = 6;
        d.outputs = 4;
        d.hidden[0] = 20;
        d.layer_norm = true;
        check_mlp(set, "layer_norm", d);
    }
}

TEST(dueling)
{
    int set, i;

    for (set = 0; set < NN_SETS; set++) {
        enum { ROWS = 8, ACTIONS = 3 };
        fixture f;
        rllb_nn_net_desc d;
        rllb_nn_net *net;
        rllb_nn_work *work;
        float q[ROWS * ACTIONS], dq[ROWS * ACTIONS], dx[ROWS * 3], chosen[ROWS], *action, *gradient, loss;
        if (!begin(set, "dueling")) continue;
        REQUIRE(fixture_open(&f, "dueling"));
        rllb_nn_net_desc_default(&d);
        d.inputs = d.outputs = ACTIONS;
        d.hidden[0] = d.hidden[1] = d.dueling = 64;
        d.activation = RLLB_NN_LEAKY_RELU;
        d.isa = nn_sets[set].isa;
        d.portable = nn_sets[set].portable;
        net = rllb_nn_net_create(&d);
        work = rllb_nn_work_create(net, ROWS, true);
        REQUIRE(net && work);
        gradient = nn_floats(rllb_nn_net_floats(net));
        CHECK(load(&f, net, ""));
        rllb_nn_forward(net, work, take(&f, "", "x", NULL), ROWS, q);
        CHECK(agree_tensor(&f, "", "q", q, ROWS * ACTIONS, 1e-5));
        action = take(&f, "", "action", NULL);
        for (i = 0; i < ROWS; i++) chosen[i] = q[i * ACTIONS + (int)action[i]];
        loss = rllb_nn_loss_mean(RLLB_NN_HUBER, 1, chosen, take(&f, "", "y", NULL), NULL, ROWS, chosen);
        CHECK(agree_tensor(&f, "", "loss", &loss, 1, 1e-5));
        memset(dq, 0, sizeof dq);
        for (i = 0; i < ROWS; i++) dq[i * ACTIONS + (int)action[i]] = chosen[i];
        rllb_nn_backward(net, work, dq, ROWS, gradient, dx);
        CHECK(agree_tensor(&f, "grad.", "x", dx, ROWS * 3, 1e-5));
        CHECK(agree_parameters(&f, net, gradient, 1, "grad.", 1e-5));
        NOTE("%s, dueling: off by %.1e", nn_sets[set].name, worst);
        free(gradient);
        rllb_nn_work_destroy(work);
        rllb_nn_net_destroy(net);
        fixture_close(&f);
    }
}

/* A model that torch saved, opened under torch's names. */
TEST(torch_model)
{
    int set, e;

    for (set = 0; set < NN_SETS; set++) {
        fixture f, check;
        rllb_nn_net_desc d;
        rllb_nn_net *net;
        rllb_nn_work *work;
        rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
        rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
        float y[30];
        if (!begin(set, "torch_model")) continue;
        REQUIRE(fixture_open(&f, "torch_model") && fixture_open(&check, "torch_model_check"));
        rllb_nn_net_desc_default(&d);
        d.inputs = d.outputs = 3;
        d.activation = RLLB_NN_LEAKY_RELU;
        d.isa = nn_sets[set].isa;
        d.portable = nn_sets[set].portable;
        net = rllb_nn_net_create(&d);
        work = rllb_nn_work_create(net, 10, false);
        REQUIRE(net && work);
        rllb_nn_net_entries(net, "", &a);
        for (e = 0; e < a.count; e++) { /* layer.I.weight -> 2I.weight */
            char name[RLLB_NN_NAME_MAX];
            snprintf(name, sizeof name, "%d%s", 2 * (entries[e].name[6] - '0'), entries[e].name + 7);
            memcpy(entries[e].name, name, sizeof name);
        }
        CHECK_EQ_I(rllb_nn_archive_load(&a, f.bytes, f.size, NULL), RLLB_OK);
        rllb_nn_forward(net, work, take(&check, "check.", "x", NULL), 10, y);
        CHECK(agree_tensor(&check, "check.", "y", y, 30, 1e-5));
        NOTE("%s, torch_model: off by %.1e", nn_sets[set].name, worst);
        rllb_nn_work_destroy(work);
        rllb_nn_net_destroy(net);
        fixture_close(&f);
        fixture_close(&check);
    }
}

/* ---- functions --------------------------------------------------------------------------------------------- */

TEST(activations)
{
    int set, kind;
    size_t n, i;

    for (set = 0; set < NN_SETS; set++) {
        fixture f;
        if (!begin(set, "activations")) continue;
        REQUIRE(fixture_open(&f, "activations"));
        for (kind = RLLB_NN_RELU; kind <= RLLB_NN_ELU; kind++) {
            const float *x = take(&f, "", "x", &n);
            const char *name = rllb_nn_activation_name((rllb_nn_activation)kind);
            rllb_nn_tensor y, d;
            y.rows = d.rows = 1;
            y.cols = d.cols = (int32_t)n;
            y.data = nn_floats(rllb_nn_tensor_floats(1, (int32_t)n));
            d.data = nn_floats(rllb_nn_tensor_floats(1, (int32_t)n));
            for (i = 0; i < n; i++) d.data[i] = 1;
            memcpy(y.data, x, n * sizeof(float));
            rllb_nn_activate(nn_kernels(set), (rllb_nn_activation)kind, &y, 0.01f);
            rllb_nn_activate_back(nn_kernels(set), (rllb_nn_activation)kind, &y, &d, 0.01f);
            CHECK(agree_tensor(&f, "y.", name, y.data, n, 1e-6));
            CHECK(agree_tensor(&f, "slope.", name, d.data, n, 1e-6));
            x = take(&f, "y.", name, NULL);
            for (i = 0; i < n; i++) CHECK_NEAR(y.data[i], x[i], 1e-6 * fabs((double)x[i])); /* small ones too */
            free(y.data);
            free(d.data);
        }
        NOTE("%s, activations: off by %.1e", nn_sets[set].name, worst);
        fixture_close(&f);
    }
}

TEST(losses)
{
    static const char *const names[] = { "mse", "mse_masked", "huber", "huber_masked" };
    fixture f;
    unsigned char mask[12];
    float gradient[12], loss, beta;
    int i, k;

    worst = 0;
    REQUIRE(fixture_open(&f, "losses"));
    beta = one(&f, "", "beta");
    for (i = 0; i < 12; i++) mask[i] = take(&f, "", "mask", NULL)[i] != 0;
    for (k = 0; k < 4; k++) {
        const float *prediction = take(&f, "", "prediction", NULL), *target = take(&f, "", "target", NULL);
        rllb_nn_loss kind = k < 2 ? RLLB_NN_MSE : RLLB_NN_HUBER;
        const unsigned char *counts = k % 2 ? mask : NULL;
        loss = rllb_nn_loss_mean(kind, beta, prediction, target, counts, 12, gradient);
        CHECK(agree_tensor(&f, "loss.", names[k], &loss, 1, 1e-6));
        CHECK(agree_tensor(&f, "grad.", names[k], gradient, 12, 1e-6));
        memcpy(gradient, prediction, sizeof gradient); /* in place */
        rllb_nn_loss_mean(kind, beta, gradient, target, counts, 12, gradient);
        CHECK(agree_tensor(&f, "grad.", names[k], gradient, 12, 1e-6));
    }
    NOTE("losses: off by %.1e", worst);
    fixture_close(&f);
}

TEST(softmax)
{
    int set, logarithm, r, c;

    for (set = 0; set < NN_SETS; set++) {
        fixture f;
        if (!begin(set, "softmax")) continue;
        REQUIRE(fixture_open(&f, "softmax"));
        for (logarithm = 0; logarithm < 2; logarithm++) {
            rllb_nn_tensor t;
            float plain[35], *x = take(&f, "", "x", NULL), *sum = take(&f, "", "logsumexp", NULL);
            t.rows = 5;
            t.cols = 7;
            t.data = nn_floats(rllb_nn_tensor_floats(5, 7));
            rllb_nn_tensor_load(&t, x, 7);
            rllb_nn_softmax(nn_kernels(set), &t, logarithm != 0);
            rllb_nn_tensor_save(&t, plain, 7);
            CHECK(agree_tensor(&f, "", logarithm ? "log_softmax" : "softmax", plain, 35, 1e-6));
            for (r = 0; logarithm && r < 5; r++) {
                for (c = 0; c < 7; c++) CHECK_REL(x[r * 7 + c] - plain[r * 7 + c], sum[r], 1e-6);
            }
            free(t.data);
        }
        NOTE("%s, softmax: off by %.1e", nn_sets[set].name, worst);
        fixture_close(&f);
    }
}

/* ---- optimisers -------------------------------------------------------------------------------------------- */

/* Plain SGD with rate 1 from zero leaves the clipped gradient behind, negated. */
TEST(clip)
{
    static const char *const names[] = { "tight", "loose" };
    int set, k, i;

    for (set = 0; set < NN_SETS; set++) {
        fixture f;
        if (!begin(set, "clip")) continue;
        REQUIRE(fixture_open(&f, "clip"));
        for (k = 0; k < 2; k++) {
            char prefix[20];
            rllb_nn_opt_desc d;
            rllb_nn_opt *opt;
            float *p = nn_floats(48), *g = nn_floats(48), norm = 0;
            memset(&d, 0, sizeof d);
            d.kind = RLLB_NN_SGD;
            d.lr.from = 1;
            d.clip_norm = one(&f, "max_norm.", names[k]);
            d.isa = nn_sets[set].isa;
            d.portable = nn_sets[set].portable;
            opt = rllb_nn_opt_create(&d, 48);
            REQUIRE(opt);
            memcpy(g, take(&f, "given.", "a", NULL), 20 * sizeof(float));
            memcpy(g + 20, take(&f, "given.", "b", NULL), 7 * sizeof(float));
            CHECK_EQ_I(rllb_nn_opt_step(opt, p, g, &norm), RLLB_OK);
            for (i = 0; i < 48; i++) p[i] = -p[i];
            snprintf(prefix, sizeof prefix, "%s.", names[k]);
            CHECK(agree_tensor(&f, "", "norm", &norm, 1, 1e-6));
            CHECK(agree_tensor(&f, prefix, "a", p, 20, 1e-6));
            CHECK(agree_tensor(&f, prefix, "b", p + 20, 7, 1e-6));
            rllb_nn_opt_destroy(opt);
            free(p);
            free(g);
        }
        NOTE("%s, clip: off by %.1e", nn_sets[set].name, worst);
        fixture_close(&f);
    }
}

TEST(optimisers)
{
    static const struct {
        const char *name;
        rllb_nn_opt_kind kind;
    } kinds[] = { { "sgd", RLLB_NN_SGD }, { "sgd_momentum", RLLB_NN_SGD }, { "rmsprop", RLLB_NN_RMSPROP },
                  { "adam", RLLB_NN_ADAM }, { "adamw", RLLB_NN_ADAMW } };
    enum { N = 37, ROOM = 48, STEPS = 5 };
    int set, k, step, i;

    for (set = 0; set < NN_SETS; set++) {
        fixture f;
        if (!begin(set, "optim")) continue;
        REQUIRE(fixture_open(&f, "optim"));
        for (k = 0; k < 5; k++) {
            rllb_nn_opt_desc d;
            rllb_nn_opt *opt;
            float *p = nn_floats(ROOM), *g = nn_floats(ROOM);
            memset(&d, 0, sizeof d);
            d.kind = kinds[k].kind;
            d.lr.from = (double)one(&f, "lr.", kinds[k].name);
            d.momentum = k == 1 ? one(&f, "", "momentum") : 0;
            d.alpha = one(&f, "", "alpha");
            d.beta1 = one(&f, "", "beta1");
            d.beta2 = one(&f, "", "beta2");
            d.eps = one(&f, "", "eps");
            d.weight_decay = d.kind == RLLB_NN_ADAMW ? one(&f, "", "weight_decay") : 0;
            d.isa = nn_sets[set].isa;
            d.portable = nn_sets[set].portable;
            opt = rllb_nn_opt_create(&d, ROOM);
            REQUIRE(opt);
            memcpy(p, take(&f, "", "start", NULL), N * sizeof(float));
            NOTE("%s, %s", nn_sets[set].name, kinds[k].name);
            for (step = 0; step < STEPS; step++) {
                const float *after = take(&f, "after.", kinds[k].name, NULL) + step * N;
                memcpy(g, take(&f, "", "grad", NULL) + step * N, N * sizeof(float));
                CHECK_EQ_I(rllb_nn_opt_step(opt, p, g, NULL), RLLB_OK);
                CHECK(agree(p, after, N, 1e-6));
                for (i = N; i < ROOM; i++) CHECK(p[i] == 0);
            }
            rllb_nn_opt_destroy(opt);
            free(p);
            free(g);
        }
        NOTE("%s, optim: off by %.1e", nn_sets[set].name, worst);
        fixture_close(&f);
    }
}

/* ---- one step of learning ---------------------------------------------------------------------------------- */

static void check_dqn(int set, bool dueling, const char *kind, bool whole)
{
    enum { ROWS = 16, ACTIONS = 3 };
    fixture f;
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    rllb_nn_dqn_report report;
    const char *name = dueling ? "dqn_dueling" : "dqn_plain";
    float *obs, *next, *action, *reward, *terminated, *allowed, td[ROWS], scale;
    char text[80];
    int i, j;

    if (!begin(set, name)) return;
    CHECK(fixture_open(&f, name));
    if (!f.bytes) return;
    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = 3;
    d.net.outputs = ACTIONS;
    d.net.hidden[0] = d.net.hidden[1] = 16;
    d.net.dueling = dueling ? 16 : 0;
    d.net.isa = nn_sets[set].isa;
    d.net.portable = nn_sets[set].portable;
    d.double_dqn = strstr(kind, "double") != NULL;
    d.masks = strstr(kind, "masked") != NULL;
    d.gamma = one(&f, "", "gamma");
    d.opt.lr.from = (double)one(&f, "", "lr");
    d.opt.clip_norm = one(&f, "", "max_norm");
    d.tau = one(&f, "", "tau");
    d.batch = d.replay.capacity = ROWS;
    agent = rllb_nn_dqn_create(&d);
    if (!agent) abort();
    CHECK(load(&f, agent->net, "online."));
    CHECK(load(&f, agent->target, "target."));
    obs = take(&f, "", "obs", NULL);
    next = take(&f, "", "next_obs", NULL);
    action = take(&f, "", "action", NULL);
    reward = take(&f, "", "reward", NULL);
    terminated = take(&f, "", "terminated", NULL);
    allowed = take(&f, "", "next_mask", NULL);
    for (i = 0; i < ROWS; i++) {
        unsigned char mask[ACTIONS];
        for (j = 0; j < ACTIONS; j++) mask[j] = allowed[i * ACTIONS + j] != 0;
        CHECK_EQ_I(rllb_nn_dqn_observe(agent, obs + i * 3, (int32_t)action[i], reward[i], next + i * 3,
                                       d.masks ? mask : NULL, terminated[i] != 0, false), RLLB_OK);
    }
    /* Sampling is with replacement; the fixture wants each transition once, in order. */
    CHECK_EQ_I(rllb_nn_replay_count(agent->replay), ROWS);
    memcpy(agent->batch.obs, agent->replay->obs, sizeof(float) * ROWS * 3);
    memcpy(agent->batch.next, agent->replay->next, sizeof(float) * ROWS * 3);
    memcpy(agent->batch.action, agent->replay->action, sizeof(int32_t) * ROWS);
    memcpy(agent->batch.reward, agent->replay->reward, sizeof(float) * ROWS);
    memcpy(agent->batch.discount, agent->replay->discount, sizeof(float) * ROWS);
    if (d.masks) memcpy(agent->batch.mask, agent->replay->mask, ROWS * ACTIONS);
    for (i = 0; i < ROWS; i++) {
        agent->batch.index[i] = i;
        agent->batch.weight[i] = 1;
    }
    CHECK_EQ_I(rllb_i_dqn_learn(agent, &report), RLLB_OK);
    CHECK(agree_tensor(&f, "", "q", agent->q, ROWS * ACTIONS, 1e-5));
    CHECK(agree_tensor(&f, "", "q_next_target", agent->q_next, ROWS * ACTIONS, 1e-5));
    for (i = 0; i < ROWS; i++) td[i] = agent->q[i * ACTIONS + (int)action[i]] - agent->error[i];
    CHECK(agree_tensor(&f, "td.", kind, td, ROWS, 1e-5));
    if (whole) {
        CHECK(agree_tensor(&f, "loss.", kind, &report.loss, 1, 1e-5));
        CHECK(agree_tensor(&f, "norm.", kind, &report.gradient_norm, 1, 1e-5));
        scale = d.opt.clip_norm / (report.gradient_norm + 1e-6f);
        snprintf(text, sizeof text, "grad.%s.", kind);
        CHECK(agree_parameters(&f, agent->net, agent->gradient, scale < 1 ? scale : 1, text, 1e-5));
        snprintf(text, sizeof text, "online_after.%s.", kind);
        CHECK(agree_parameters(&f, agent->net, agent->net->data, 1, text, 1e-6));
        snprintf(text, sizeof text, "target_after.%s.", kind);
        CHECK(agree_parameters(&f, agent->target, agent->target->data, 1, text, 1e-6));
    }
    NOTE("%s, %s, %s: off by %.1e", nn_sets[set].name, name, kind, worst);
    rllb_nn_dqn_destroy(agent);
    fixture_close(&f);
}

TEST(dqn_updates)
{
    int set, dueling;

    for (set = 0; set < NN_SETS; set++) {
        for (dueling = 0; dueling < 2; dueling++) {
            check_dqn(set, dueling != 0, "dqn", true);
            check_dqn(set, dueling != 0, "double_masked", true);
            check_dqn(set, dueling != 0, "double", false);
            check_dqn(set, dueling != 0, "dqn_masked", false);
        }
    }
}

/* ---- the other direction ----------------------------------------------------------------------------------- */

static int run_check(const char *python, const char *path)
{
    char command[300];
    int status;

    snprintf(command, sizeof command, "%s tests/golden/check_interop.py '%s' '%s'", python, path, path);
    fflush(stdout);
    status = system(command);
    if (status == -1 || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

/* Models that we save, opened and run by Python over inputs and answers in the same file. */
TEST(others_read_our_models)
{
    const char *python = getenv("PYTHON");
    rllb_nn_net_desc d;
    int i, status = 0, asked = 0;
    char path[100];
    rllb_rng rng;

    if (!python || !python[0]) python = "python3";
    rllb_rng_init(&rng, 1, 0);
    mkdir("build", 0777); /* may be there */
    for (i = 0; nn_shape(i, &d) && status == 0; i++) {
        enum { ROWS = 6 };
        rllb_nn_net *net;
        rllb_nn_work *work;
        rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX + 2];
        rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX + 2, 0 };
        rllb_nn_meta meta[RLLB_NN_NET_METAS];
        char text[80];
        float x[ROWS * 32], y[ROWS * 32];
        unsigned char *file;
        size_t size;
        FILE *out;
        if (d.output_activation != RLLB_NN_LINEAR || d.leak > 0 || i % 3) continue; /* the script knows no more */
        net = rllb_nn_net_create(&d);
        work = rllb_nn_work_create(net, ROWS, false);
        REQUIRE(net && work);
        nn_fill(&rng, x, (size_t)(ROWS * d.inputs));
        rllb_nn_forward(net, work, x, ROWS, y);
        rllb_nn_net_entries(net, "", &a);
        rllb_nn_archive_add(&a, "check.x", RLLB_NN_F32, ROWS, d.inputs, x);
        rllb_nn_archive_add(&a, "check.y", RLLB_NN_F32, ROWS, d.outputs, y);
        rllb_nn_net_meta(net, text, meta);
        size = rllb_nn_archive_size(&a, meta, 4);
        file = (unsigned char *)malloc(size);
        REQUIRE(file);
        CHECK_EQ_I(rllb_nn_archive_save(&a, meta, 4, file, size), RLLB_OK);
        snprintf(path, sizeof path, "build/test_nn_golden_%ld.safetensors", (long)getpid());
        out = fopen(path, "wb");
        REQUIRE(out);
        CHECK_EQ_I(fwrite(file, 1, size, out), size);
        CHECK_EQ_I(fclose(out), 0);
        status = run_check(python, path);
        if (status == 77 || status == 127) { /* the system's own Python may have more */
            python = "/usr/bin/python3";
            status = run_check(python, path);
        }
        asked++;
        NOTE("shape %d: the script says %d", i, status);
        if (status != 77 && status != 127) CHECK_EQ_I(status, 0);
        remove(path);
        free(file);
        rllb_nn_work_destroy(work);
        rllb_nn_net_destroy(net);
    }
    if (status == 77 || status == 127) SKIP("no Python with safetensors or numpy");
    CHECK(asked >= 3);
}
