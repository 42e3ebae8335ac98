/* test_nn_gradients.c - backward against numeric gradients

   The numeric side is the slow network of test_nn.h in double precision: central differences with steps of 1e-6 are
   good to about 1e-9, so the tolerance is what float32 rounding leaves: 5e-6 of the gradient's norm, for the whole and
   for the input. Draws are fixed; a ReLU within 1e-6 of its kink would show as a failure, and none does. */

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"

enum { ROWS_MAX = 17, WIDTH_MAX = 32, OUT_MAX = 20 };

typedef enum loss_kind { LOSS_MSE, LOSS_HUBER, LOSS_MASKED, LOSS_KINDS } loss_kind;

typedef struct problem {
    int32_t rows, inputs, outputs;
    loss_kind loss;
    float x[ROWS_MAX * WIDTH_MAX], target[ROWS_MAX * OUT_MAX];
    unsigned char mask[ROWS_MAX * OUT_MAX];
} problem;

static const double BETA = 0.5;

/* The loss over all rows, in double precision, with `shift` added to element `moved` of the input (-1: none). */
static double slow_loss(slow_net *s, const problem *p, int32_t moved, double shift)
{
    double sum = 0;
    int32_t r, i, counted = 0;

    for (r = 0; r < p->rows; r++) {
        double x[WIDTH_MAX], y[OUT_MAX];
        for (i = 0; i < p->inputs; i++) x[i] = (double)p->x[r * p->inputs + i];
        if (moved >= 0 && moved / p->inputs == r) x[moved % p->inputs] += shift;
        slow_forward(s, x, y);
        for (i = 0; i < p->outputs; i++) {
            double e = fabs(y[i] - (double)p->target[r * p->outputs + i]);
            if (p->loss == LOSS_MASKED && !p->mask[r * p->outputs + i]) continue;
            if (p->loss == LOSS_HUBER) sum += e < BETA ? e * e / (2 * BETA) : e - BETA / 2;
            else sum += e * e;
            counted++;
        }
    }
    return counted ? sum / counted : 0;
}

static double norm_of_difference(const double *a, const double *b, size_t n)
{
    double sum = 0, size = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(sum) / (sqrt(size) + 1e-12);
}

/* Relative errors of the gradient by the parameters and by the input. */
static bool gradient_errors(const rllb_nn_net *net, const problem *p, double *by_parameters, double *by_input)
{
    const double step = 1e-6;
    rllb_nn_work *work = rllb_nn_work_create(net, p->rows, true);
    float *gradient = nn_floats(rllb_nn_net_floats(net)), y[ROWS_MAX * OUT_MAX], dy[ROWS_MAX * OUT_MAX];
    float dx[ROWS_MAX * WIDTH_MAX], loss;
    slow_net s = slow_make(net);
    size_t n = s.count > (size_t)(p->rows * p->inputs) ? s.count : (size_t)(p->rows * p->inputs), i;
    double *is = (double *)malloc(n * sizeof *is), *should = (double *)malloc(n * sizeof *should), exact;
    bool ok;

    if (!work || !is || !should) abort();
    for (i = 0; i < rllb_nn_net_floats(net); i++) gradient[i] = 99; /* must be overwritten */
    rllb_nn_forward(net, work, p->x, p->rows, y);
    loss = rllb_nn_loss_mean(p->loss == LOSS_HUBER ? RLLB_NN_HUBER : RLLB_NN_MSE, (float)BETA, y, p->target,
                             p->loss == LOSS_MASKED ? p->mask : NULL, (size_t)(p->rows * p->outputs), dy);
    exact = slow_loss(&s, p, -1, 0);
    ok = fabs((double)loss - exact) <= 2e-6 * fmax(1, exact);
    rllb_nn_backward(net, work, dy, p->rows, gradient, dx);
    for (i = 0; i < s.count; i++) {
        double kept = s.p[i], up, down;
        s.p[i] = kept + step;
        up = slow_loss(&s, p, -1, 0);
        s.p[i] = kept - step;
        down = slow_loss(&s, p, -1, 0);
        s.p[i] = kept;
        should[i] = (up - down) / (2 * step);
        is[i] = (double)gradient[s.at[i]];
    }
    *by_parameters = norm_of_difference(is, should, s.count);
    for (i = 0; i < (size_t)(p->rows * p->inputs); i++) {
        should[i] = (slow_loss(&s, p, (int32_t)i, step) - slow_loss(&s, p, (int32_t)i, -step)) / (2 * step);
        is[i] = (double)dx[i];
    }
    *by_input = norm_of_difference(is, should, (size_t)(p->rows * p->inputs));
    free(is);
    free(should);
    free(gradient);
    slow_free(&s);
    rllb_nn_work_destroy(work);
    return ok;
}

static void fill(problem *p, rllb_rng *rng, int32_t rows, const rllb_nn_net_desc *d, loss_kind loss)
{
    int32_t i;

    p->rows = rows;
    p->inputs = d->inputs;
    p->outputs = d->outputs;
    p->loss = loss;
    nn_fill(rng, p->x, ROWS_MAX * WIDTH_MAX);
    nn_fill(rng, p->target, ROWS_MAX * OUT_MAX);
    for (i = 0; i < ROWS_MAX * OUT_MAX; i++) p->mask[i] = rllb_rng_below(rng, 3) > 0;
    p->mask[0] = 1;
}

/* Every shape (activations, narrow and wide layers, dueling, layer norm, depths, none hidden), with rows from 1 to 17,
   the three losses, and the three initialisers taking turns; by the default kernels and by the generic ones. */
TEST(every_layer_and_loss)
{
    rllb_nn_net_desc d;
    rllb_rng rng;
    double worst = 0, worst_input = 0, a, b;
    int shape, loss, turn = 0;

    rllb_rng_init(&rng, 21, 0);
    for (shape = 0; nn_shape(shape, &d); shape++) {
        for (loss = 0; loss < LOSS_KINDS; loss++, turn++) {
            rllb_nn_net *net;
            problem p;
            size_t f;
            d.start = (rllb_nn_start)(1 + turn % 3);
            d.seed = (uint64_t)turn;
            d.isa = turn % 2 ? RLLB_NN_ISA_GENERIC : RLLB_NN_ISA_DEFAULT;
            net = rllb_nn_net_create(&d);
            REQUIRE(net);
            for (f = 0; (int32_t)f < net->layers; f++) { /* biases, gains and shifts that are not 0, 1, 0 */
                const rllb_i_layer *l = &net->layer[f];
                int32_t o;
                for (o = 0; o < l->out; o++) {
                    net->data[l->bias + (size_t)o] += rllb_rng_range(&rng, -0.2f, 0.2f);
                    if (!l->norm) continue;
                    net->data[l->gain + (size_t)o] = rllb_rng_range(&rng, 0.5f, 1.5f);
                    net->data[l->shift + (size_t)o] = rllb_rng_range(&rng, -0.5f, 0.5f);
                }
            }
            fill(&p, &rng, turn == 0 ? 1 : turn == 1 ? ROWS_MAX : 1 + rllb_rng_below(&rng, ROWS_MAX), &d,
                 (loss_kind)loss);
            CHECK(gradient_errors(net, &p, &a, &b));
            NOTE("shape %2d, loss %d, start %d, %2d rows: %.1e by parameters, %.1e by input", shape, loss, (int)d.start,
                 (int)p.rows, a, b);
            CHECK(a <= 5e-6);
            CHECK(b <= 5e-6);
            worst = nn_worse(worst, a);
            worst_input = nn_worse(worst_input, b);
            rllb_nn_net_destroy(net);
        }
    }
    NOTE("worst: %.1e by parameters, %.1e by input", worst, worst_input);
}

/* One shape with everything in it, all row counts. */
TEST(every_number_of_rows)
{
    rllb_nn_net_desc d;
    rllb_nn_net *net;
    rllb_rng rng;
    int32_t rows;
    double a, b;

    rllb_rng_init(&rng, 22, 0);
    rllb_nn_net_desc_default(&d);
    d.inputs = 3;
    d.outputs = 3;
    d.hidden[0] = 9;
    d.hidden[1] = 5;
    d.dueling = 8;
    d.layer_norm = true;
    d.activation = RLLB_NN_ELU;
    net = rllb_nn_net_create(&d);
    REQUIRE(net);
    for (rows = 1; rows <= ROWS_MAX; rows++) {
        problem p;
        fill(&p, &rng, rows, &d, LOSS_MSE);
        CHECK(gradient_errors(net, &p, &a, &b));
        NOTE("%d rows: %.1e by parameters, %.1e by input", (int)rows, a, b);
        CHECK(a <= 5e-6);
        CHECK(b <= 5e-6);
    }
    rllb_nn_net_destroy(net);
}

/* The loss and its gradient as functions by themselves, worked by hand. */
TEST(losses_by_hand)
{
    const float predicted[4] = { 1, 2, -3, 0.5f }, target[4] = { 0, 2.25f, 1, 0.5f };
    const unsigned char mask[4] = { 1, 0, 7, 0 }, none[4] = { 0, 0, 0, 0 };
    float g[4];

    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_MSE, 0, predicted, target, NULL, 4, g), (1 + 0.0625 + 16) / 4, 1e-6);
    CHECK_NEAR(g[0], 0.5, 1e-7);
    CHECK_NEAR(g[1], -0.125, 1e-7);
    CHECK_NEAR(g[2], -2, 1e-7);
    CHECK_NEAR(g[3], 0, 0);
    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_HUBER, 0, predicted, target, NULL, 4, g), (0.5 + 0.03125 + 3.5) / 4, 1e-6);
    CHECK_NEAR(g[2], -0.25, 1e-7);
    CHECK_NEAR(g[1], -0.0625, 1e-7);
    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_HUBER, 2, predicted, target, NULL, 4, g), (0.25 + 0.015625 + 3) / 4, 1e-6);
    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_MSE, 0, predicted, target, mask, 4, g), 8.5, 1e-6);
    CHECK_NEAR(g[0], 1, 1e-7);
    CHECK_NEAR(g[1], 0, 0);
    CHECK_NEAR(g[2], -4, 1e-7);
    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_MSE, 0, predicted, target, none, 4, g), 0, 0);
    CHECK_NEAR(g[0], 0, 0);
    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_MSE, 0, predicted, target, NULL, 0, NULL), 0, 0);
    CHECK_NEAR(rllb_nn_loss_mean(RLLB_NN_LOSS_DEFAULT, -1, predicted, target, NULL, 4, NULL), 4.03125 / 4, 1e-6);
}

/* A work made for serving has no room for gradients: backward must touch nothing. */
TEST(serving_work_cannot_learn)
{
    rllb_nn_net_desc d;
    rllb_nn_net *net;
    rllb_nn_work *work;
    float x[2] = { 1, 2 }, y[1], *gradient;
    size_t i;

    rllb_nn_net_desc_default(&d);
    d.inputs = 2;
    d.outputs = 1;
    net = rllb_nn_net_create(&d);
    work = rllb_nn_work_create(net, 1, false);
    REQUIRE(net && work);
    gradient = nn_floats(rllb_nn_net_floats(net));
    rllb_nn_forward(net, work, x, 1, y);
    rllb_nn_backward(net, work, y, 1, gradient, NULL);
    for (i = 0; i < rllb_nn_net_floats(net); i++) {
        if (!(gradient[i] == 0)) break;
    }
    CHECK_EQ_I(i, rllb_nn_net_floats(net));
    free(gradient);
    rllb_nn_work_destroy(work);
    rllb_nn_net_destroy(net);
}
