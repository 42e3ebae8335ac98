/* test_nn_sequences.c - recurrent and set-structured networks, against a slow one and against themselves

   The slow network below is written from what rllb_nn.h says of the shapes, in double precision, one sequence and one
   item after the other; of the fast one it knows the names of the parameters only. Central differences with steps of
   1e-6 are good to about 1e-9, so tolerances are what float32 rounding leaves. Then what must hold bit for bit: padding
   adds nothing, the order of items does not matter, steps carried one by one are the sequence; and whole learners learn
   the same whatever lies in the free slots of their rings. Draws are fixed. */

#include <stdlib.h>

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"

/* ---- the slow network -------------------------------------------------------------------------------------- */

enum { WIDE = 48, STEPS = 6, ROWS = 5, ITEMS = 9 };

enum { LAYER, AFTER, CONTEXT, COMMON, VALUE, ADVANTAGE, GRU, KINDS, NUMBERS = 5 };
enum { WEIGHT, BIAS, GAIN, SHIFT, STATE_WEIGHT = GAIN, STATE_BIAS = SHIFT, ARRAYS };

typedef struct slow {
    rllb_nn_net_desc d;
    int32_t hidden, after;
    size_t n;
    double *p;
    const double *array[KINDS][NUMBERS][ARRAYS]; /* into p */
    float **at;                                  /* where the fast network keeps each, or its gradient */
    double mean[WIDE], scale[WIDE];
} slow;

/* "norm.value.1.weight": gain of the layer "value.1"; "norm.0.bias": shift of "layer.0". */
static const double **place_of(slow *s, const char *name)
{
    static const char *const kinds[KINDS] = { "layer.", "after.", "context.", "common.", "value.", "advantage.",
                                              "gru." };
    static const char *const ends[] = { "weight", "bias", "weight_ih", "bias_ih", "weight_hh", "bias_hh" };
    bool norm = strncmp(name, "norm.", 5) == 0;
    int kind, number = 0, what;

    if (norm) name += 5;
    for (kind = 0; kind < KINDS && strncmp(name, kinds[kind], strlen(kinds[kind])) != 0;) kind++;
    if (kind < KINDS) name += strlen(kinds[kind]);
    else if (norm) kind = LAYER;
    if (kind == KINDS) abort();
    if (kind != GRU) {
        number = name[0] - '0';
        name += 2;
    }
    for (what = 0; what < 6 && strcmp(name, ends[what]) != 0;) what++;
    if (what == 6 || number < 0 || number >= NUMBERS) abort();
    if (kind == GRU) what -= 2;
    return &s->array[kind][number][norm ? what + GAIN : what];
}

/* Parameters by name, from entries over `data`, which has the layout of the network's parameters. */
static slow slow_of(rllb_nn_net *net, float *data)
{
    rllb_nn_entry e[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { e, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    size_t n = (size_t)rllb_nn_net_parameters(net);
    slow s;
    int32_t i;

    memset(&s, 0, sizeof s);
    rllb_nn_net_query(net, &s.d);
    rllb_i_parameter_entries(net, data, "", &a);
    s.p = (double *)malloc(n * sizeof *s.p);
    s.at = (float **)malloc(n * sizeof *s.at);
    if (!s.p || !s.at) abort();
    while (s.hidden < RLLB_NN_HIDDEN_MAX && s.d.hidden[s.hidden] > 0) s.hidden++;
    while (s.after < RLLB_NN_AFTER_MAX && s.d.after[s.after] > 0) s.after++;
    for (i = 0; i < a.count; i++) {
        int64_t r, c;
        *place_of(&s, e[i].name) = s.p + s.n;
        for (r = 0; r < e[i].shape[0]; r++) {
            for (c = 0; c < e[i].shape[1]; c++, s.n++) {
                s.at[s.n] = e[i].panels ? rllb_i_panel_element(&e[i], r, c) : (float *)e[i].data + r;
                s.p[s.n] = (double)*s.at[s.n];
            }
        }
    }
    if (s.n != n) abort();
    for (i = 0; i < WIDE; i++) s.scale[i] = 1;
    return s;
}

static void slow_end(slow *s)
{
    free(s->p);
    free(s->at);
}

/* y = act(W x + b + more) of a layer; b and `more` may be missing. Hidden ones are normalised in such a network. */
static void dense(const slow *s, int kind, int32_t number, const double *x, int32_t in, int32_t out,
                  const double *more, bool hidden, rllb_nn_activation activation, double *y)
{
    const double *const *a = s->array[kind][number], *w = a[WEIGHT], *b = a[BIAS];
    double mean = 0, variance = 0;
    int32_t o, i;

    if (!w || (hidden && s->d.layer_norm) != (a[GAIN] != NULL)) abort();
    for (o = 0; o < out; o++) {
        y[o] = (b ? b[o] : 0) + (more ? more[o] : 0);
        for (i = 0; i < in; i++) y[o] += w[o * in + i] * x[i];
        mean += y[o] / out;
    }
    for (o = 0; o < out; o++) variance += (y[o] - mean) * (y[o] - mean) / out;
    for (o = 0; o < out; o++) {
        if (a[GAIN]) y[o] = a[GAIN][o] * (y[o] - mean) / sqrt(variance + 1e-5) + a[SHIFT][o];
        y[o] = slow_activation(activation, y[o], (double)s->d.leak);
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* PyTorch's gated recurrent unit; h in and out. */
static void slow_gru(const slow *s, const double *x, int32_t in, double *h)
{
    const double *const *a = s->array[GRU][0];
    const double *w = a[WEIGHT], *b = a[BIAS], *u = a[STATE_WEIGHT], *c = a[STATE_BIAS];
    int32_t units = s->d.gru, o, i, gate;
    double fresh[WIDE];

    for (o = 0; o < units; o++) {
        double by_x[3], by_h[3], reset, keep;
        for (gate = 0; gate < 3; gate++) {
            int32_t row = gate * units + o;
            by_x[gate] = b[row];
            by_h[gate] = c[row];
            for (i = 0; i < in; i++) by_x[gate] += w[row * in + i] * x[i];
            for (i = 0; i < units; i++) by_h[gate] += u[row * units + i] * h[i];
        }
        reset = sigmoid(by_x[0] + by_h[0]);
        keep = sigmoid(by_x[1] + by_h[1]);
        fresh[o] = (1 - keep) * tanh(by_x[2] + reset * by_h[2]) + keep * h[o];
    }
    memcpy(h, fresh, (size_t)units * sizeof *h);
}

/* Through the hidden layers and the GRU: x becomes what is behind them. Returns the width. */
static int32_t encode(const slow *s, double *x, double *h)
{
    int32_t width = s->d.item_inputs ? s->d.item_inputs : s->d.inputs, n;
    double y[WIDE];

    for (n = 0; n < s->hidden; n++) {
        dense(s, LAYER, n, x, width, s->d.hidden[n], NULL, true, s->d.activation, y);
        width = s->d.hidden[n];
        memcpy(x, y, (size_t)width * sizeof *x);
    }
    if (!s->d.gru) return width;
    slow_gru(s, x, width, h);
    memcpy(x, h, (size_t)s->d.gru * sizeof *x);
    return s->d.gru;
}

static double normalised(const slow *s, int32_t column, double x)
{
    double v = (x - s->mean[column]) * s->scale[column];
    return v > 10 ? 10 : v < -10 ? -10 : v;
}

/* One step of a plain or recurrent network. */
static void slow_plain(const slow *s, const double *in, double *h, double *out)
{
    const rllb_nn_net_desc *d = &s->d;
    int32_t width, n, i, j, each = d->outputs / d->heads;
    double x[WIDE], y[WIDE], value[WIDE], mean;

    for (i = 0; i < d->inputs; i++) x[i] = normalised(s, i, in[i]);
    width = encode(s, x, h);
    for (n = 0; n < s->after; n++) {
        dense(s, AFTER, n, x, width, d->after[n], NULL, true, d->activation, y);
        width = d->after[n];
        memcpy(x, y, sizeof x);
    }
    if (!d->dueling) {
        n = d->gru ? s->after : s->hidden;
        dense(s, d->gru ? AFTER : LAYER, n, x, width, d->outputs, NULL, false, d->output_activation, out);
        return;
    }
    dense(s, VALUE, 0, x, width, d->dueling, NULL, true, d->activation, y);
    dense(s, VALUE, 1, y, d->dueling, 1, NULL, false, RLLB_NN_LINEAR, value);
    dense(s, ADVANTAGE, 0, x, width, d->dueling, NULL, true, d->activation, y);
    dense(s, ADVANTAGE, 1, y, d->dueling, d->outputs, NULL, false, RLLB_NN_LINEAR, out);
    for (i = 0; i < d->heads; i++) {
        for (j = 0, mean = 0; j < each; j++) mean += out[i * each + j] / each;
        for (j = 0; j < each; j++) out[i * each + j] += value[0] - mean;
    }
}

/* One step of a set of `count` items; h [items][gru], out [items][item_outputs] and [outputs]. */
static void slow_set(const slow *s, const double *in, int32_t items, int32_t count, double *h, double *out)
{
    const rllb_nn_net_desc *d = &s->d;
    double x[ITEMS][WIDE], pooled[3 * WIDE], context[WIDE], y[WIDE], z[WIDE];
    int32_t width = d->gru ? d->gru : s->hidden ? d->hidden[s->hidden - 1] : d->item_inputs;
    int32_t first = s->after ? d->after[0] : width, i, c, n, last = s->after ? s->after : 1;

    memset(pooled, 0, sizeof pooled);
    for (i = 0; i < count; i++) {
        for (c = 0; c < d->item_inputs; c++) {
            x[i][c] = normalised(s, d->inputs + c, in[d->inputs + i * d->item_inputs + c]);
        }
        encode(s, x[i], h + i * d->gru);
        for (c = 0; c < width; c++) {
            pooled[c] += x[i][c] / count;
            if (i == 0 || x[i][c] > pooled[width + c]) pooled[width + c] = x[i][c];
        }
    }
    for (c = 0; c < d->inputs; c++) pooled[2 * width + c] = normalised(s, c, in[c]);
    n = 2 * width + d->inputs;
    dense(s, CONTEXT, 0, pooled, n, first, NULL, false, RLLB_NN_LINEAR, context);
    for (i = 0; i < count; i++) {
        dense(s, AFTER, 0, x[i], width, first, context, true, d->activation, y);
        for (c = 1; c < last; c++) {
            dense(s, AFTER, c, y, d->after[c - 1], d->after[c], NULL, true, d->activation, z);
            memcpy(y, z, sizeof y);
        }
        dense(s, AFTER, last, y, s->after ? d->after[s->after - 1] : first, d->item_outputs, NULL, false,
              d->output_activation, out + i * d->item_outputs);
    }
    if (!d->outputs) return;
    dense(s, COMMON, 0, pooled, n, first, NULL, true, d->activation, y);
    dense(s, COMMON, 1, y, first, d->outputs, NULL, false, d->output_activation, out + items * d->item_outputs);
}

/* ---- problems ---------------------------------------------------------------------------------------------- */

typedef struct problem {
    int32_t rows, steps, items, burn, wide, width, states;
    int32_t length[ROWS], counts[ROWS];
    float *x, *target, *start;
    double *warm; /* [rows][states] before step `burn`; what lies before is given */
} problem;

static bool counts_in(const slow *s, const problem *p, int32_t t, int32_t r, int32_t o)
{
    if (t < p->burn || t >= p->length[r]) return false;
    return !s->d.item_inputs || o >= p->items * s->d.item_outputs || o < p->counts[r] * s->d.item_outputs;
}

/* Sum of squares over all that counts, with `shift` added to x[moved] (-1: to none). From step `from` on, where states
   are p->warm or p->start; state and y get what came out, if they are there. */
static double slow_run(const slow *s, const problem *p, int32_t from, int32_t until, int32_t moved, double shift,
                       double *state, double *y)
{
    double x[ITEMS * WIDE], h[ITEMS * WIDE], out[ITEMS * WIDE], sum = 0;
    int32_t r, t, i;

    for (r = 0; r < p->rows; r++) {
        for (i = 0; i < p->states; i++) {
            h[i] = from ? p->warm[r * p->states + i] : (double)p->start[r * p->states + i];
        }
        for (t = from; t < (p->length[r] < until ? p->length[r] : until); t++) {
            int32_t cell = t * p->rows + r;
            for (i = 0; i < p->width; i++) x[i] = (double)p->x[cell * p->width + i];
            if (moved >= 0 && moved / p->width == cell) x[moved % p->width] += shift;
            if (s->d.item_inputs) slow_set(s, x, p->items, p->counts[r], h, out);
            else slow_plain(s, x, h, out);
            for (i = 0; i < p->wide; i++) {
                double off = out[i] - (double)p->target[cell * p->wide + i];
                if (!counts_in(s, p, t, r, i)) continue;
                sum += off * off;
                if (y) y[cell * p->wide + i] = out[i];
            }
        }
        for (i = 0; state && i < p->states; i++) state[r * p->states + i] = h[i];
    }
    return sum;
}

static double slow_loss(const slow *s, const problem *p, int32_t moved, double shift)
{
    return slow_run(s, p, p->burn, p->steps, moved, shift, NULL, NULL);
}

static problem problem_make(rllb_rng *rng, const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items,
                            int32_t burn, bool uneven)
{
    problem p;
    int32_t r, t;

    memset(&p, 0, sizeof p);
    p.rows = rows;
    p.steps = steps;
    p.items = items;
    p.burn = burn;
    p.width = rllb_nn_net_inputs(net, items);
    p.wide = rllb_nn_net_outputs(net, items);
    p.states = rllb_nn_net_states(net, items);
    p.x = nn_floats((size_t)(steps * rows * p.width));
    p.target = nn_floats((size_t)(steps * rows * p.wide));
    p.start = nn_floats((size_t)(rows * p.states));
    p.warm = (double *)calloc((size_t)(rows * p.states) + 1, sizeof(double));
    if (!p.warm) abort();
    nn_fill(rng, p.target, (size_t)(steps * rows * p.wide));
    nn_fill(rng, p.start, (size_t)(rows * p.states));
    for (r = 0; r < rows; r++) {
        p.length[r] = uneven && r ? burn + 1 + rllb_rng_below(rng, steps - burn) : steps;
        p.counts[r] = uneven && r ? rllb_rng_below(rng, items + 1) : items;
        for (t = 0; t < p.length[r]; t++) nn_fill(rng, p.x + (t * rows + r) * p.width, (size_t)p.width);
    }
    return p;
}

static void problem_free(problem *p)
{
    free(p->x);
    free(p->target);
    free(p->start);
    free(p->warm);
}

static rllb_nn_pass pass_of(const problem *p, const rllb_nn_net_desc *d, float *state)
{
    rllb_nn_pass pass;

    memset(&pass, 0, sizeof pass);
    pass.x = p->x;
    pass.rows = p->rows;
    pass.steps = p->steps;
    pass.items = p->items;
    pass.counts = d->item_inputs ? p->counts : NULL;
    pass.state = p->states ? state : NULL;
    pass.burn = p->burn;
    memcpy(state, p->start, (size_t)(p->rows * p->states) * sizeof(float));
    return pass;
}

/* The fast network's outputs, states, and gradients, which the caller frees; what does not count is zero in dy. */
typedef struct fast {
    float *y, *state, *gradient, *dx;
} fast;

static fast fast_run(rllb_nn_net *net, const slow *s, const problem *p)
{
    rllb_nn_work *work = rllb_nn_pass_create(net, p->rows, p->steps, p->items, true);
    size_t n = (size_t)(p->steps * p->rows * p->wide), f;
    float *dy = nn_floats(n);
    rllb_nn_pass pass;
    int32_t t, r, o;
    fast out;

    if (!work) abort();
    out.y = nn_floats(n);
    out.state = nn_floats((size_t)(p->rows * p->states) + 1);
    out.gradient = nn_floats(rllb_nn_net_floats(net));
    out.dx = nn_floats((size_t)(p->steps * p->rows * p->width));
    for (f = 0; f < rllb_nn_net_floats(net); f++) out.gradient[f] = 99; /* must be overwritten */
    pass = pass_of(p, &s->d, out.state);
    rllb_nn_pass_forward(net, work, &pass, out.y);
    for (t = 0; t < p->steps; t++) {
        for (r = 0; r < p->rows; r++) {
            for (o = 0; o < p->wide; o++) {
                int32_t at = (t * p->rows + r) * p->wide + o;
                if (counts_in(s, p, t, r, o)) dy[at] = 2 * (out.y[at] - p->target[at]);
            }
        }
    }
    rllb_nn_pass_backward(net, work, &pass, dy, out.gradient, out.dx);
    free(dy);
    rllb_nn_work_destroy(work);
    return out;
}

static void fast_free(fast *f)
{
    free(f->y);
    free(f->state);
    free(f->gradient);
    free(f->dx);
}

static double relative(const double *is, const double *should, size_t n)
{
    double sum = 0, size = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        sum += (is[i] - should[i]) * (is[i] - should[i]);
        size += should[i] * should[i];
    }
    return sqrt(sum) / (sqrt(size) + 1e-12);
}

/* ---- numeric gradients ------------------------------------------------------------------------------------- */

/* Shapes with every kind of layer, wide and narrow, of every activation; and the size of the problem to be put. */
typedef struct shape {
    rllb_nn_net_desc d;
    int32_t rows, steps, items, burn;
} shape;

static bool shape_of(int i, shape *s)
{
    static const struct {
        int32_t inputs, outputs, item_inputs, item_outputs, hidden[2], gru, after[2], dueling, heads;
        rllb_nn_activation activation, output;
        bool norm, normalise;
        int32_t rows, steps, items, burn;
    } list[] = {
        { 5, 6, 0, 0, { 7 }, 0, { 0 }, 5, 2, RLLB_NN_TANH, RLLB_NN_LINEAR, false, true, 4, 1, 1, 0 },
        { 4, 12, 0, 0, { 9, 5 }, 0, { 0 }, 6, 4, RLLB_NN_ELU, RLLB_NN_LINEAR, true, false, 5, 1, 1, 0 },
        { 5, 3, 0, 0, { 7 }, 6, { 0 }, 0, 1, RLLB_NN_TANH, RLLB_NN_LINEAR, false, false, 4, 5, 1, 0 },
        { 3, 2, 0, 0, { -1 }, 1, { 0 }, 0, 1, RLLB_NN_RELU, RLLB_NN_LINEAR, false, false, 1, 6, 1, 0 },
        { 4, 3, 0, 0, { 6 }, 18, { 9 }, 0, 1, RLLB_NN_LEAKY_RELU, RLLB_NN_TANH, false, true, 1, 5, 1, 0 },
        { 3, 9, 0, 0, { -1 }, 16, { 10, 5 }, 0, 1, RLLB_NN_SIGMOID, RLLB_NN_LINEAR, true, true, 3, 5, 1, 2 },
        { 5, 12, 0, 0, { 8 }, 7, { 9 }, 7, 3, RLLB_NN_TANH, RLLB_NN_LINEAR, true, false, 5, 4, 1, 1 },
        { 2, 3, 4, 2, { 8 }, 0, { 0 }, 0, 1, RLLB_NN_TANH, RLLB_NN_LINEAR, false, false, 5, 1, 5, 0 },
        { 2, 3, 4, 9, { 8, 17 }, 0, { 10 }, 0, 1, RLLB_NN_LEAKY_RELU, RLLB_NN_SIGMOID, true, true, 4, 1, 7, 0 },
        { 0, 0, 4, 1, { -1 }, 0, { 0 }, 0, 1, RLLB_NN_ELU, RLLB_NN_LINEAR, false, false, 3, 2, 3, 0 },
        { 0, 8, 3, 2, { -1 }, 0, { 11 }, 0, 1, RLLB_NN_RELU, RLLB_NN_LINEAR, false, true, 2, 3, 9, 0 },
        { 0, 0, 4, 2, { 8 }, 5, { 11, 6 }, 0, 1, RLLB_NN_TANH, RLLB_NN_LINEAR, false, true, 3, 4, 4, 0 },
        { 2, 3, 3, 9, { 9 }, 17, { 11 }, 0, 1, RLLB_NN_ELU, RLLB_NN_LINEAR, true, true, 3, 4, 3, 1 },
        { 1, 1, 2, 1, { -1 }, 3, { 0 }, 0, 1, RLLB_NN_SIGMOID, RLLB_NN_TANH, false, false, 1, 6, 1, 3 },
    };

    if (i < 0 || i >= (int)(sizeof list / sizeof *list)) return false;
    rllb_nn_net_desc_default(&s->d);
    s->d.inputs = list[i].inputs;
    s->d.outputs = list[i].outputs;
    s->d.item_inputs = list[i].item_inputs;
    s->d.item_outputs = list[i].item_outputs;
    memcpy(s->d.hidden, list[i].hidden, sizeof list[i].hidden);
    memcpy(s->d.after, list[i].after, sizeof list[i].after);
    s->d.gru = list[i].gru;
    s->d.dueling = list[i].dueling;
    s->d.heads = list[i].heads;
    s->d.activation = list[i].activation;
    s->d.output_activation = list[i].output;
    s->d.layer_norm = list[i].norm;
    s->d.normalise = list[i].normalise;
    s->d.leak = 0.2f;
    s->d.seed = (uint64_t)i;
    s->rows = list[i].rows;
    s->steps = list[i].steps;
    s->items = list[i].items;
    s->burn = list[i].burn;
    return true;
}

/* Gains, shifts and biases that are not 1 and 0. */
static void unsettle(rllb_nn_net *net, rllb_rng *rng)
{
    slow s = slow_of(net, rllb_nn_net_data(net));
    size_t i;

    for (i = 0; i < s.n; i++) *s.at[i] += rllb_rng_range(rng, -0.15f, 0.15f);
    slow_end(&s);
}

/* Shows the network some observations of uneven scale, and works out mean and deviation of each column anew; the last
   column is left as it is. One number of the problem is moved far out, where it is cut. */
static void teach_normal(rllb_nn_net *net, slow *s, rllb_rng *rng, problem *p)
{
    enum { SEEN = 40 };
    int32_t columns = s->d.inputs + s->d.item_inputs, groups = p->items, n, c, i;
    unsigned char raw[WIDE] = { 0 };
    double sum[WIDE] = { 0 }, square[WIDE] = { 0 };

    raw[columns - 1] = 1;
    for (n = 0; n < SEEN; n++) {
        float x[ITEMS * WIDE];
        for (i = 0; i < p->width; i++) {
            c = i < s->d.inputs ? i : s->d.inputs + (i - s->d.inputs) % s->d.item_inputs;
            x[i] = 0.1f * (float)c + (1 + 0.3f * (float)c) * rllb_rng_range(rng, -1, 1);
            sum[c] += (double)x[i];
            square[c] += (double)x[i] * (double)x[i];
        }
        CHECK_EQ_I(rllb_nn_net_observe(net, x, p->items, raw), RLLB_OK);
    }
    for (c = 0; c < columns - 1; c++) {
        double seen = c < s->d.inputs ? SEEN : SEEN * groups, mean = sum[c] / seen;
        s->mean[c] = mean;
        s->scale[c] = 1 / sqrt(square[c] / seen - mean * mean + 1e-8);
    }
    p->x[0] = 40;
}

/* What the numbers should be: outputs and states, and derivatives of the loss by every `stride`th parameter and by all
   inputs. */
typedef struct truth {
    double *y, *state, *by_p, *by_x;
    size_t ys, states, ps, xs, stride;
} truth;

static truth truth_of(slow *s, const problem *p)
{
    const double step = 1e-6;
    size_t cells = (size_t)(p->steps * p->rows), i;
    truth t;

    t.stride = 1 + s->n / 150;
    t.ys = cells * (size_t)p->wide;
    t.xs = cells * (size_t)p->width;
    t.states = (size_t)(p->rows * p->states);
    t.ps = (s->n + t.stride - 1) / t.stride;
    t.y = (double *)calloc(t.ys + t.xs + t.states + t.ps, sizeof(double));
    if (!t.y) abort();
    t.by_x = t.y + t.ys;
    t.state = t.by_x + t.xs;
    t.by_p = t.state + t.states;
    slow_run(s, p, 0, p->steps, -1, 0, t.state, t.y);
    for (i = 0; i < t.ps; i++) {
        double *at = s->p + i * t.stride, kept = *at, up;
        *at = kept + step;
        up = slow_loss(s, p, -1, 0);
        *at = kept - step;
        t.by_p[i] = (up - slow_loss(s, p, -1, 0)) / (2 * step);
        *at = kept;
    }
    for (i = 0; i < t.xs; i++) {
        if ((int32_t)i / p->width / p->rows < p->burn) continue; /* nothing flows there */
        t.by_x[i] = slow_loss(s, p, (int32_t)i, step) - slow_loss(s, p, (int32_t)i, -step);
        t.by_x[i] /= 2 * step;
    }
    return t;
}

/* Relative errors of outputs, states, gradients by parameters and by inputs. */
static void compare(rllb_nn_net *net, const slow *s, const problem *p, const truth *should, double off[4])
{
    fast f = fast_run(net, s, p);
    slow g = slow_of(net, f.gradient);
    size_t n = should->ys + should->xs + should->states + should->ps, i;
    double *is = (double *)calloc(n, sizeof(double));

    if (!is) abort();
    for (i = 0; i < should->ys; i++) {
        int32_t cell = (int32_t)i / p->wide;
        if (counts_in(s, p, cell / p->rows, cell % p->rows, (int32_t)i % p->wide)) is[i] = (double)f.y[i];
    }
    off[0] = relative(is, should->y, should->ys);
    for (i = 0; i < should->states; i++) { /* of full sequences and items that are there; others go on into nowhere */
        int32_t r = (int32_t)i / p->states, item = (int32_t)i % p->states / s->d.gru;
        bool there = p->length[r] == p->steps && (!s->d.item_inputs || item < p->counts[r]);
        is[i] = there ? (double)f.state[i] : should->state[i];
    }
    off[1] = relative(is, should->state, should->states);
    for (i = 0; i < should->ps; i++) is[i] = (double)*g.at[i * should->stride];
    off[2] = relative(is, should->by_p, should->ps);
    for (i = 0; i < should->xs; i++) is[i] = (double)f.dx[i];
    off[3] = relative(is, should->by_x, should->xs);
    free(is);
    slow_end(&g);
    fast_free(&f);
}

static rllb_nn_net *shape_net(const shape *like, int number, int set, rllb_rng *rng)
{
    rllb_nn_net_desc d = like->d;
    rllb_nn_net *net;

    d.isa = nn_sets[set].isa;
    d.portable = nn_sets[set].portable;
    net = rllb_nn_net_create(&d);
    if (!net) abort();
    rllb_rng_init(rng, 77, (uint64_t)number);
    unsettle(net, rng);
    return net;
}

/* Sequences of unequal length, sets of unequal size, by all kernel sets. */
TEST(gradients)
{
    double worst[4] = { 0, 0, 0, 0 }, off[4];
    truth should;
    shape like;
    int i, set, k;

    for (i = 0; shape_of(i, &like); i++) {
        should.y = NULL;
        for (set = 0; set < NN_SETS; set++) {
            rllb_rng rng;
            rllb_nn_net *net;
            problem p;
            slow s;
            if (!nn_kernels(set)) continue;
            net = shape_net(&like, i, set, &rng);
            s = slow_of(net, rllb_nn_net_data(net));
            p = problem_make(&rng, net, like.rows, like.steps, like.items, like.burn, true);
            if (like.d.normalise) teach_normal(net, &s, &rng, &p);
            slow_run(&s, &p, 0, p.burn, -1, 0, p.warm, NULL);
            if (!should.y) should = truth_of(&s, &p); /* the same for all sets */
            compare(net, &s, &p, &should, off);
            NOTE("shape %2d, %s: y %.1e, state %.1e, by parameters %.1e, by inputs %.1e", i, nn_sets[set].name, off[0],
                 off[1], off[2], off[3]);
            CHECK(off[0] <= 1e-6);
            CHECK(off[1] <= 1e-6);
            CHECK(off[2] <= 5e-6);
            CHECK(off[3] <= 5e-6);
            for (k = 0; k < 4; k++) worst[k] = nn_worse(worst[k], off[k]);
            slow_end(&s);
            problem_free(&p);
            rllb_nn_net_destroy(net);
        }
        free(should.y);
    }
    NOTE("worst: y %.1e, state %.1e, by parameters %.1e, by inputs %.1e", worst[0], worst[1], worst[2], worst[3]);
}

/* ---- what holds bit for bit -------------------------------------------------------------------------------- */

/* Equal as numbers: 0 and -0 are. */
static bool equal(const float *a, const float *b, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (!(a[i] == b[i])) return false;
    }
    return true;
}

/* Sets that do not fuse agree in every bit of outputs, states and gradients. */
TEST(portable_sets_agree)
{
    shape like;
    int i, set;

    for (i = 0; shape_of(i, &like); i++) {
        fast first;
        memset(&first, 0, sizeof first);
        for (set = 0; set < NN_SETS; set++) {
            rllb_rng rng;
            rllb_nn_net *net;
            problem p;
            slow s;
            fast f;
            if (!nn_kernels(set) || !nn_sets[set].portable) continue;
            net = shape_net(&like, i, set, &rng);
            s = slow_of(net, rllb_nn_net_data(net));
            p = problem_make(&rng, net, like.rows, like.steps, like.items, like.burn, true);
            if (like.d.normalise) teach_normal(net, &s, &rng, &p);
            f = fast_run(net, &s, &p);
            if (!first.y) {
                first = f;
            } else {
                CHECK_MEM(f.y, first.y, sizeof(float) * (size_t)(p.steps * p.rows * p.wide));
                CHECK_MEM(f.state, first.state, sizeof(float) * (size_t)(p.rows * p.states));
                CHECK_MEM(f.gradient, first.gradient, sizeof(float) * rllb_nn_net_floats(net));
                CHECK_MEM(f.dx, first.dx, sizeof(float) * (size_t)(p.steps * p.rows * p.width));
                fast_free(&f);
            }
            slow_end(&s);
            problem_free(&p);
            rllb_nn_net_destroy(net);
        }
        fast_free(&first);
    }
}

/* Whatever stands behind the ends of sequences, and in items that are not there: the same gradients. */
TEST(padding_reaches_nothing)
{
    shape like;
    int i, set;

    for (i = 0; shape_of(i, &like); i++) {
        for (set = 0; set < NN_SETS; set++) {
            rllb_rng rng;
            rllb_nn_net *net;
            problem p;
            slow s;
            fast f, g;
            int32_t t, r, c;
            if (!nn_kernels(set)) continue;
            net = shape_net(&like, i, set, &rng);
            s = slow_of(net, rllb_nn_net_data(net));
            p = problem_make(&rng, net, like.rows, like.steps, like.items, like.burn, true);
            f = fast_run(net, &s, &p);
            for (t = 0; t < p.steps; t++) {
                for (r = 0; r < p.rows; r++) {
                    for (c = 0; c < p.width; c++) {
                        bool there = t < p.length[r] && c < s.d.inputs + p.counts[r] * s.d.item_inputs;
                        if (!there) p.x[(t * p.rows + r) * p.width + c] = rllb_rng_range(&rng, -9, 9);
                    }
                }
            }
            g = fast_run(net, &s, &p);
            NOTE("shape %d, %s", i, nn_sets[set].name);
            CHECK(equal(g.gradient, f.gradient, rllb_nn_net_floats(net)));
            CHECK(equal(g.dx, f.dx, (size_t)(p.steps * p.rows * p.width)));
            fast_free(&f);
            fast_free(&g);
            slow_end(&s);
            problem_free(&p);
            rllb_nn_net_destroy(net);
        }
    }
}

/* Sequences as they are, and with one more step of zeros behind them: the same outputs and gradients bit for bit, since
   what is added is zero, at the end of every sum. Rows of unequal length, against each of them alone: the sum of their
   gradients, in another order. */
TEST(short_sequences_alone)
{
    shape like;
    int i, set;

    for (i = 0; shape_of(i, &like); i++) {
        for (set = 0; set < NN_SETS; set++) {
            rllb_rng rng;
            rllb_nn_net *net;
            problem p, shorter;
            slow s;
            fast f, g;
            int32_t r, steps;
            size_t floats, n;
            double *sum, *whole;
            if (!nn_kernels(set) || like.d.item_inputs || like.steps < 3) continue;
            net = shape_net(&like, i, set, &rng);
            s = slow_of(net, rllb_nn_net_data(net));
            floats = rllb_nn_net_floats(net);
            sum = (double *)calloc(floats, sizeof *sum);
            whole = (double *)calloc(floats, sizeof *whole);
            if (!sum || !whole) abort();
            p = problem_make(&rng, net, like.rows, like.steps, like.items, like.burn, true);
            NOTE("shape %d, %s", i, nn_sets[set].name);

            f = fast_run(net, &s, &p);
            for (n = 0; n < floats; n++) whole[n] = (double)f.gradient[n];
            for (r = 0; r < p.rows; r++) { /* each alone */
                int32_t t;
                shorter = p;
                shorter.rows = 1;
                shorter.steps = shorter.length[0] = p.length[r];
                shorter.start = p.start + r * p.states;
                shorter.x = nn_floats((size_t)(p.steps * p.width));
                shorter.target = nn_floats((size_t)(p.steps * p.wide));
                for (t = 0; t < shorter.steps; t++) {
                    memcpy(shorter.x + t * p.width, p.x + (t * p.rows + r) * p.width, sizeof(float) * (size_t)p.width);
                    memcpy(shorter.target + t * p.wide, p.target + (t * p.rows + r) * p.wide,
                           sizeof(float) * (size_t)p.wide);
                }
                g = fast_run(net, &s, &shorter);
                for (n = 0; n < floats; n++) sum[n] += (double)g.gradient[n];
                fast_free(&g);
                free(shorter.x);
                free(shorter.target);
            }
            CHECK(relative(whole, sum, floats) <= 1e-6);
            fast_free(&f);

            steps = p.steps - 1; /* all of one length, then padded */
            for (r = 0; r < p.rows; r++) p.length[r] = steps;
            memset(p.x + steps * p.rows * p.width, 0, sizeof(float) * (size_t)(p.rows * p.width));
            f = fast_run(net, &s, &p);
            shorter = p;
            shorter.steps = steps;
            g = fast_run(net, &s, &shorter);
            CHECK(equal(f.gradient, g.gradient, floats));
            CHECK(equal(f.dx, g.dx, (size_t)(steps * p.rows * p.width)));
            CHECK_MEM(f.y, g.y, sizeof(float) * (size_t)(steps * p.rows * p.wide));
            fast_free(&f);
            fast_free(&g);
            free(sum);
            free(whole);
            slow_end(&s);
            problem_free(&p);
            rllb_nn_net_destroy(net);
        }
    }
}

static void shuffle(rllb_rng *rng, int32_t *order, int32_t n)
{
    int32_t i;

    for (i = 0; i < n; i++) order[i] = i;
    for (i = n - 1; i > 0; i--) {
        int32_t j = rllb_rng_below(rng, i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Outputs and states of one problem forward. */
static void forward(const rllb_nn_net *net, const slow *s, const problem *p, bool train, float *y, float *state)
{
    rllb_nn_work *work = rllb_nn_pass_create(net, p->rows, p->steps, p->items, train);
    rllb_nn_pass pass = pass_of(p, &s->d, state);

    if (!work) abort();
    rllb_nn_pass_forward(net, work, &pass, y);
    rllb_nn_work_destroy(work);
}

/* The items of every row in another order, those that are not there last as before: their outputs and states in that
   order, and what concerns all as it was, bit for bit. Numbers are large at times: sums that round would show. */
TEST(order_of_items)
{
    shape like;
    int i, set;
    int32_t items;

    for (i = 0; shape_of(i, &like); i++) {
        if (!like.d.item_inputs) continue;
        for (set = 0; set < NN_SETS; set++) {
            rllb_rng rng;
            rllb_nn_net *net;
            slow s;
            if (!nn_kernels(set)) continue;
            net = shape_net(&like, i, set, &rng);
            s = slow_of(net, rllb_nn_net_data(net));
            for (items = 1; items <= ITEMS; items++) {
                problem p = problem_make(&rng, net, 1 + items % 3, like.steps, items, 0, true), q = p;
                size_t xs = (size_t)(p.steps * p.rows * p.width), ys = (size_t)(p.steps * p.rows * p.wide);
                size_t states = (size_t)(p.rows * p.states) + 1;
                float *y = nn_floats(ys), *z = nn_floats(ys), *h = nn_floats(states), *k = nn_floats(states);
                int32_t order[ROWS][ITEMS], t, r, c, in = s.d.item_inputs, out = s.d.item_outputs, gru = s.d.gru;
                bool same = true, same_state = true;
                q.x = nn_floats(xs);
                q.start = nn_floats(states);
                for (c = 0; items % 2 && c < (int32_t)xs; c++) p.x[c] *= 1000;
                memcpy(q.x, p.x, xs * sizeof(float));
                memcpy(q.start, p.start, (states - 1) * sizeof(float));
                for (r = 0; r < p.rows; r++) shuffle(&rng, order[r], p.counts[r]);
                for (t = 0; t < p.steps; t++) {
                    for (r = 0; r < p.rows; r++) {
                        float *to = q.x + (t * p.rows + r) * p.width + s.d.inputs;
                        const float *from = p.x + (t * p.rows + r) * p.width + s.d.inputs;
                        for (c = 0; c < p.counts[r] * in; c++) to[c] = from[order[r][c / in] * in + c % in];
                    }
                }
                for (r = 0; r < p.rows; r++) {
                    float *to = q.start + r * p.states;
                    const float *from = p.start + r * p.states;
                    for (c = 0; c < p.counts[r] * gru; c++) to[c] = from[order[r][c / gru] * gru + c % gru];
                }
                forward(net, &s, &p, false, y, h);
                forward(net, &s, &q, items % 2 == 0, z, k);
                for (t = 0; t < p.steps; t++) {
                    for (r = 0; r < p.rows; r++) {
                        const float *a = y + (t * p.rows + r) * p.wide, *b = z + (t * p.rows + r) * p.wide;
                        for (c = 0; c < p.counts[r] * out; c++) {
                            if (memcmp(&b[c], &a[order[r][c / out] * out + c % out], sizeof *a) != 0) same = false;
                        }
                        c = items * out;
                        if (memcmp(a + c, b + c, sizeof(float) * (size_t)s.d.outputs) != 0) same = false;
                    }
                }
                for (r = 0; r < p.rows; r++) {
                    const float *a = h + r * p.states, *b = k + r * p.states;
                    for (c = 0; c < p.counts[r] * gru; c++) {
                        if (memcmp(&b[c], &a[order[r][c / gru] * gru + c % gru], sizeof *a) != 0) same_state = false;
                    }
                }
                NOTE("shape %d, %s, %d items", i, nn_sets[set].name, (int)items);
                CHECK(same);
                CHECK(same_state);
                free(y);
                free(z);
                free(h);
                free(k);
                free(q.x);
                free(q.start);
                problem_free(&p);
            }
            slow_end(&s);
            rllb_nn_net_destroy(net);
        }
    }
}

/* A pass over all steps, and a pass for each step with the state carried on: the same bits; for a single row, whose
   sums run in another order, the same but for rounding. */
TEST(state_carried_on)
{
    shape like;
    int i, set;
    int32_t rows;

    for (i = 0; shape_of(i, &like); i++) {
        if (!like.d.gru) continue;
        for (set = 0; set < NN_SETS; set++) {
            rllb_rng rng;
            rllb_nn_net *net;
            slow s;
            if (!nn_kernels(set)) continue;
            net = shape_net(&like, i, set, &rng);
            s = slow_of(net, rllb_nn_net_data(net));
            for (rows = 1; rows <= 4; rows++) {
                problem p = problem_make(&rng, net, rows, like.steps, like.items, 0, false);
                size_t ys = (size_t)(p.steps * rows * p.wide), states = (size_t)(rows * p.states), n;
                float *y = nn_floats(ys), *z = nn_floats(ys), *h = nn_floats(states), *k = nn_floats(states);
                rllb_nn_work *work = rllb_nn_pass_create(net, rows, 1, p.items, false);
                rllb_nn_pass pass;
                double off = 0;
                int32_t t;
                if (!work) abort();
                forward(net, &s, &p, rows % 2 == 0, y, h);
                pass = pass_of(&p, &s.d, k);
                pass.steps = 1;
                for (t = 0; t < p.steps; t++) {
                    pass.x = p.x + t * rows * p.width;
                    rllb_nn_pass_forward(net, work, &pass, z + t * rows * p.wide);
                }
                NOTE("shape %d, %s, %d rows", i, nn_sets[set].name, (int)rows);
                if (rows * p.items > 1 && (rows > 1 || !s.d.item_inputs)) {
                    CHECK_MEM(z, y, ys * sizeof(float));
                    CHECK_MEM(k, h, states * sizeof(float));
                }
                for (n = 0; n < ys; n++) off = nn_worse(off, fabs((double)(z[n] - y[n])));
                for (n = 0; n < states; n++) off = nn_worse(off, fabs((double)(k[n] - h[n])));
                CHECK(off <= 2e-6);
                rllb_nn_work_destroy(work);
                free(y);
                free(z);
                free(h);
                free(k);
                problem_free(&p);
            }
            slow_end(&s);
            rllb_nn_net_destroy(net);
        }
    }
}

/* The mean over a head is another for each head: it cannot be left out when heads compete. */
TEST(best_of_dueling_heads)
{
    rllb_nn_net_desc d;
    rllb_nn_net *net;
    rllb_nn_work *work;
    rllb_rng rng;
    int round;

    rllb_rng_init(&rng, 5, 0);
    rllb_nn_net_desc_default(&d);
    d.inputs = 4;
    d.outputs = 6;
    d.heads = 2;
    d.dueling = 5;
    d.hidden[0] = 8;
    net = rllb_nn_net_create(&d);
    work = rllb_nn_work_create(net, 1, false);
    REQUIRE(net && work);
    for (round = 0; round < 200; round++) {
        float x[4], q[6];
        int32_t best = 0, i;
        unsettle(net, &rng);
        nn_fill(&rng, x, 4);
        rllb_nn_forward(net, work, x, 1, q);
        for (i = 1; i < 6; i++) best = q[i] > q[best] ? i : best;
        CHECK_EQ_I(rllb_nn_best(net, work, x, NULL), best);
    }
    rllb_nn_work_destroy(work);
    rllb_nn_net_destroy(net);
}

/* ---- rings ------------------------------------------------------------------------------------------------- */

/* Everything that no finished episode and not the one that goes on has written: NaN, and flags and owners that are
   wrong. */
static void poison(rllb_nn_episodes *e)
{
    const rllb_nn_episodes_desc *d = &e->desc;
    int32_t count = rllb_nn_episodes_count(e), n, t, i, slot, agents = d->agents;
    unsigned char *used = (unsigned char *)calloc((size_t)d->capacity, 1); /* 1: seen, 2: acted in */

    if (!used) abort();
    for (n = 0; n <= count; n++) {
        int32_t at = (int32_t)(e->counter[RLLB_I_RING_FIRST] + n) % d->episodes;
        int32_t start = n < count ? e->start[at] : (int32_t)e->counter[RLLB_I_RING_HEAD];
        int32_t length = n < count ? e->length[at] : (int32_t)e->counter[RLLB_I_RING_GOING];
        for (t = 0; t <= length && length > 0; t++) used[(start + t) % d->capacity] = t < length ? 2 : 1;
    }
    for (slot = 0; slot < d->capacity; slot++) {
        for (i = 0; used[slot] < 1 && i < agents * d->observations; i++) {
            e->obs[slot * agents * d->observations + i] = (float)NAN;
        }
        for (i = 0; used[slot] < 1 && i < d->states; i++) e->state[slot * d->states + i] = (float)NAN;
        if (used[slot] < 1) e->owner[slot] = 99999;
        if (used[slot] == 2) continue;
        for (i = 0; i < agents * d->actions; i++) e->action[slot * agents * d->actions + i] = (float)NAN;
        for (i = 0; i < agents * d->memories; i++) e->memory[slot * agents * d->memories + i] = (float)NAN;
        for (i = 0; i < agents; i++) e->reward[slot * agents + i] = (float)NAN;
        e->terminated[slot] = 1;
    }
    free(used);
}

/* Whether a batch is zero behind the end of each row, and says so. */
static bool batch_is_padded(const rllb_nn_sequences *b, const rllb_nn_episodes_desc *d, int32_t rows)
{
    int32_t t, r, i, obs = d->agents * d->observations, actions = d->agents * d->actions;
    bool ok = true;

    for (t = 0; t <= b->steps; t++) {
        for (r = 0; r < rows; r++) {
            int32_t cell = t * rows + r;
            for (i = 0; t > b->length[r] && i < obs; i++) ok = ok && b->obs[cell * obs + i] == 0;
            for (i = 0; t > b->length[r] && i < d->states; i++) ok = ok && b->state[cell * d->states + i] == 0;
            if (t == b->steps) continue;
            ok = ok && b->filled[cell] == (t < b->length[r]);
            if (t < b->length[r]) continue;
            for (i = 0; i < actions; i++) ok = ok && b->action[cell * actions + i] == 0;
            for (i = 0; i < d->agents; i++) ok = ok && b->reward[cell * d->agents + i] == 0;
            ok = ok && !b->terminated[cell];
        }
    }
    return ok;
}

enum { NUMBERS_MAX = 64 };

/* One step of a world of random numbers for any learner. */
typedef struct world {
    rllb_rng rng;
    float obs[NUMBERS_MAX], next[NUMBERS_MAX], state[NUMBERS_MAX], next_state[NUMBERS_MAX], action[NUMBERS_MAX];
    float reward[NUMBERS_MAX];
    int32_t left; /* steps of this episode */
    rllb_nn_step step;
} world;

static void world_begin(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    rllb_rng_init(&w->rng, seed, 0);
    nn_fill(&w->rng, w->next, NUMBERS_MAX);
    w->step.obs = w->obs;
    w->step.next = w->next;
    w->step.state = w->state;
    w->step.next_state = w->next_state;
    w->step.action = w->action;
    w->step.reward = w->reward;
}

static void world_see(world *w)
{
    memcpy(w->obs, w->next, sizeof w->obs);
    memcpy(w->state, w->next_state, sizeof w->state);
    if (w->left > 0) return;
    w->left = 1 + rllb_rng_below(&w->rng, 5);
    w->step.items = 1 + rllb_rng_below(&w->rng, 3);
}

static void world_turn(world *w)
{
    int32_t end = rllb_rng_below(&w->rng, 2);

    nn_fill(&w->rng, w->next, NUMBERS_MAX);
    nn_fill(&w->rng, w->next_state, NUMBERS_MAX);
    nn_fill(&w->rng, w->reward, NUMBERS_MAX);
    w->left--;
    w->step.terminated = w->left == 0 && end;
    w->step.truncated = w->left == 0 && !end;
}

static void space_of(rllb_nn_space *s, bool set, int32_t choices)
{
    memset(s, 0, sizeof *s);
    s->observations = 2;
    s->choices = choices;
    s->last_action = s->agent_id = true;
    if (set) {
        s->item_observations = 3;
        s->items = 3;
        s->common = 1;
    } else {
        s->heads = 2;
    }
}

enum { TURNS = 120, EVERY = 7 };

/* Two learners live through the same; before each update one's free slots are poisoned. */
static void check_qmix_ring(int variant)
{
    rllb_nn_qmix_desc d;
    rllb_nn_qmix *q[2];
    rllb_nn_qmix_report report[2];
    world w[2];
    int32_t t, i, updates = 0, padded = 0;

    rllb_nn_qmix_desc_default(&d);
    space_of(&d.space, variant == 1, 3);
    d.agents = 2;
    d.net.hidden[0] = 6;
    d.net.gru = variant < 2 ? 5 : 0;
    d.mix = variant == 0 ? RLLB_NN_MIX_QMIX : variant == 1 ? RLLB_NN_MIX_SUM : RLLB_NN_MIX_NONE;
    d.states = variant == 0 ? 3 : 0;
    d.embed = 4;
    d.hyper = 5;
    d.batch = 4;
    d.window = variant == 0 ? 3 : 0;
    d.burn = variant == 0 ? 1 : 0;
    d.stored = variant == 0;
    d.replay.capacity = 37;
    d.replay.episodes = 6;
    d.replay.steps = 5;
    d.net.normalise = variant == 2;
    for (i = 0; i < 2; i++) {
        q[i] = rllb_nn_qmix_create(&d);
        if (!q[i]) abort();
        world_begin(&w[i], 3);
    }
    for (t = 1; t <= TURNS; t++) {
        for (i = 0; i < 2; i++) {
            world_see(&w[i]);
            CHECK_EQ_I(rllb_nn_qmix_act(q[i], w[i].obs, w[i].step.items, true, w[i].action), RLLB_OK);
            world_turn(&w[i]);
            CHECK_EQ_I(rllb_nn_qmix_observe(q[i], &w[i].step), RLLB_OK);
        }
        if (t % EVERY || rllb_nn_episodes_count(q[0]->replay) < d.batch) continue;
        poison(q[1]->replay);
        for (i = 0; i < 2; i++) CHECK_EQ_I(rllb_nn_qmix_update(q[i], &report[i]), RLLB_OK);
        CHECK_MEM(&report[1], &report[0], sizeof report[0]);
        CHECK_MEM(q[1]->data, q[0]->data, q[0]->floats * sizeof(float));
        CHECK(batch_is_padded(&q[1]->batch, &q[1]->replay->desc, d.batch));
        for (i = 0; i < q[1]->batch.steps * d.batch; i++) padded += !q[1]->batch.filled[i];
        updates++;
    }
    NOTE("variant %d: %d updates, %d cells of padding", variant, (int)updates, (int)padded);
    CHECK(updates >= 8 && padded >= 10);
    for (i = 0; i < 2; i++) rllb_nn_qmix_destroy(q[i]);
}

static void check_sac_ring(int variant)
{
    rllb_nn_sac_desc d;
    rllb_nn_sac *s[2];
    rllb_nn_sac_report report[2];
    world w[2];
    int32_t t, i, updates = 0, padded = 0;

    rllb_nn_sac_desc_default(&d);
    space_of(&d.space, variant == 1, variant == 2 ? 0 : 3);
    d.agents = 2;
    d.actor.hidden[0] = 6;
    d.actor.gru = variant ? 5 : 0;
    d.actor.normalise = variant == 2;
    d.batch = 4;
    d.window = variant == 0 ? 3 : 0;
    d.burn = variant == 2 ? 1 : 0;
    d.stored = variant == 1;
    d.normalise_rewards = variant == 1;
    d.replay.capacity = 37;
    d.replay.episodes = 6;
    d.replay.steps = 5;
    for (i = 0; i < 2; i++) {
        s[i] = rllb_nn_sac_create(&d);
        if (!s[i]) abort();
        world_begin(&w[i], 4);
    }
    for (t = 1; t <= TURNS; t++) {
        for (i = 0; i < 2; i++) {
            world_see(&w[i]);
            CHECK_EQ_I(rllb_nn_sac_act(s[i], w[i].obs, w[i].step.items, true, w[i].action), RLLB_OK);
            world_turn(&w[i]);
            CHECK_EQ_I(rllb_nn_sac_observe(s[i], &w[i].step), RLLB_OK);
        }
        if (t % EVERY || rllb_nn_episodes_count(s[0]->replay) < 4) continue;
        poison(s[1]->replay);
        for (i = 0; i < 2; i++) CHECK_EQ_I(rllb_nn_sac_update(s[i], &report[i]), RLLB_OK);
        CHECK_MEM(&report[1], &report[0], sizeof report[0]);
        CHECK_MEM(s[1]->actor->data, s[0]->actor->data, s[0]->actor->floats * sizeof(float));
        CHECK_MEM(s[1]->critics, s[0]->critics, 2 * s[0]->critic_floats * sizeof(float));
        CHECK(batch_is_padded(&s[1]->batch, &s[1]->replay->desc, d.batch));
        for (i = 0; i < s[1]->batch.steps * d.batch; i++) padded += !s[1]->batch.filled[i];
        updates++;
    }
    NOTE("variant %d: %d updates, %d cells of padding", variant, (int)updates, (int)padded);
    CHECK(updates >= 8 && padded >= 10);
    for (i = 0; i < 2; i++) rllb_nn_sac_destroy(s[i]);
}

TEST(free_slots_reach_nothing)
{
    int variant;

    for (variant = 0; variant < 3; variant++) check_qmix_ring(variant);
    for (variant = 0; variant < 3; variant++) check_sac_ring(variant);
}

/* The same episode of three steps, terminated by the rules or cut: the last step's target is the reward alone, or more
   by gamma times the value of what follows; and through TD(lambda) the earlier ones hear of it. */
TEST(terminated_and_truncated)
{
    const float gamma = 0.9f, lambda = 0.5f;
    float target[2][3], follow[2][3], wanted[2][3], value[2][3];
    int32_t cut, t;

    for (cut = 0; cut < 2; cut++) {
        rllb_nn_qmix_desc d;
        rllb_nn_sac_desc e;
        rllb_nn_qmix *q;
        rllb_nn_sac *s;
        world w;
        rllb_nn_qmix_desc_default(&d);
        space_of(&d.space, false, 3);
        d.gamma = gamma;
        d.lambda = lambda;
        d.batch = 1;
        d.net.hidden[0] = 6;
        rllb_nn_sac_desc_default(&e);
        e.space = d.space;
        e.gamma = gamma;
        e.batch = 1;
        e.window = 3;
        e.actor = d.net;
        d.replay.capacity = e.replay.capacity = 10;
        q = rllb_nn_qmix_create(&d);
        s = rllb_nn_sac_create(&e);
        REQUIRE(q && s);
        world_begin(&w, 8);
        for (t = 0; t < 3; t++) {
            w.left = 3;
            world_see(&w);
            world_turn(&w);
            w.step.terminated = t == 2 && !cut;
            w.step.truncated = t == 2 && cut;
            w.action[0] = (float)t;
            CHECK_EQ_I(rllb_nn_qmix_observe(q, &w.step), RLLB_OK);
            CHECK_EQ_I(rllb_nn_sac_observe(s, &w.step), RLLB_OK);
        }
        CHECK_EQ_I(rllb_nn_qmix_update(q, NULL), RLLB_OK);
        CHECK_EQ_I(rllb_nn_sac_update(s, NULL), RLLB_OK);
        CHECK_EQ_I(q->batch.steps, 3);
        CHECK_EQ_I(s->batch.steps, 3);
        for (t = 0; t < 3; t++) {
            target[cut][t] = q->target_value[t];
            follow[cut][t] = q->follow[t + 1];
            wanted[cut][t] = s->wanted[t];
            value[cut][t] = s->value[t];
            CHECK_EQ_I(q->batch.terminated[t], t == 2 && !cut);
        }
        CHECK_NEAR(target[cut][2], q->batch.reward[2] + (cut ? gamma * follow[cut][2] : 0), 1e-6);
        CHECK_NEAR(wanted[cut][2], s->batch.reward[2] + (cut ? gamma * value[cut][2] : 0), 1e-6);
        rllb_nn_qmix_destroy(q);
        rllb_nn_sac_destroy(s);
    }
    CHECK_MEM(follow[1], follow[0], sizeof follow[0]);
    CHECK_MEM(value[1], value[0], sizeof value[0]);
    CHECK(fabsf(target[1][2] - target[0][2]) > 0.01f);
    CHECK(fabsf(wanted[1][2] - wanted[0][2]) > 0.01f);
    CHECK_NEAR(target[1][1] - target[0][1], gamma * lambda * gamma * follow[0][2], 1e-6);
    CHECK_NEAR(target[1][0] - target[0][0], gamma * lambda * gamma * lambda * gamma * follow[0][2], 1e-6);
    CHECK_MEM(wanted[1], wanted[0], 2 * sizeof(float));
}

/* What is sampled is what was lived: windows begin with the state and action that came before them; and the network,
   run over a sampled sequence from there, gives the actions that were the best when they were taken. */
TEST(sampled_windows_are_what_was_lived)
{
    enum { LIVED = 60, MEMORIES = 64 };
    static float memory[LIVED * 2][MEMORIES], before[LIVED * 2][NUMBERS_MAX];
    int variant;

    for (variant = 0; variant < 2; variant++) {
        rllb_nn_qmix_desc d;
        rllb_nn_qmix *q;
        world w;
        int32_t t, r, a, i, updates, later = 0, agreed = 0, decided = 0, memories, actions;
        rllb_nn_qmix_desc_default(&d);
        space_of(&d.space, variant == 1, 3);
        d.agents = 2;
        d.net.hidden[0] = 6;
        d.net.gru = 5;
        d.batch = 4;
        d.window = 3;
        d.stored = true;
        d.tau = 1e-9f;
        d.opt.lr.from = 1e-12; /* the network stays what it was when it acted */
        d.epsilon.from = 1e-9;
        d.epsilon.curve = RLLB_NN_CONSTANT;
        d.replay.capacity = 2 * LIVED;
        q = rllb_nn_qmix_create(&d);
        REQUIRE(q);
        memories = d.agents * q->carry.memories;
        actions = d.agents * q->actions;
        REQUIRE(memories <= MEMORIES && actions <= NUMBERS_MAX);
        world_begin(&w, 21);
        for (t = 0; t < LIVED; t++) {
            int32_t slot = (int32_t)(q->replay->counter[RLLB_I_RING_HEAD] + q->replay->counter[RLLB_I_RING_GOING]);
            world_see(&w);
            memcpy(memory[slot], q->carry.memory, (size_t)memories * sizeof(float));
            memcpy(before[slot], q->carry.last, (size_t)actions * sizeof(float));
            CHECK_EQ_I(rllb_nn_qmix_act(q, w.obs, w.step.items, false, w.action), RLLB_OK);
            world_turn(&w);
            CHECK_EQ_I(rllb_nn_qmix_observe(q, &w.step), RLLB_OK);
        }
        for (updates = 0; updates < 10; updates++) {
            const rllb_nn_sequences *b = &q->batch;
            CHECK_EQ_I(rllb_nn_qmix_update(q, NULL), RLLB_OK);
            for (r = 0; r < d.batch; r++) {
                const float *begun = b->before + r * actions;
                CHECK_MEM(b->memory + r * memories, memory[b->slot[r]], (size_t)memories * sizeof(float));
                CHECK_MEM(begun, before[b->slot[r]], (size_t)actions * sizeof(float));
                later += begun[0] >= 0;
                for (t = 0; t < b->length[r]; t++) {
                    for (a = 0; a < d.agents; a++) {
                        const float *value = q->q + rllb_i_qmix_cell(q, t, r, a) * (size_t)q->out;
                        const float *taken = b->action + ((t * d.batch + r) * d.agents + a) * q->actions;
                        for (i = 0; i < q->actions; i++) {
                            if (!rllb_i_decides(&d.space, i, b->items[r])) continue;
                            agreed += rllb_i_argmax(value + i * 3, NULL, 3) == (int32_t)taken[i];
                            decided++;
                        }
                    }
                }
            }
        }
        NOTE("variant %d: %d windows that begin later, %d decisions", variant, (int)later, (int)decided);
        CHECK_EQ_I(agreed, decided);
        CHECK(later >= 5 && decided >= 200);
        rllb_nn_qmix_destroy(q);
    }
}

/* ---- the tanh-Gaussian ------------------------------------------------------------------------------------- */

/* Action and ln of its density against double precision, out to where 1 - tanh^2 has no digits left in floats. */
TEST(gaussian_densities)
{
    double mean, spread, noise, worst = 0, worst_action = 0;

    for (mean = -12; mean <= 12; mean += 1.5) {
        for (spread = -23; spread <= 4; spread += 1.5) {
            for (noise = -3; noise <= 3; noise += 0.75) {
                const float y[2] = { (float)mean, (float)spread };
                double held = fmin(fmax(spread, -20), 2), u = mean + exp(held) * noise, e = exp(-2 * fabs(u));
                double slope = log(4.0) - 2 * fabs(u) - 2 * log1p(e); /* ln of 4 e / (1 + e)^2 */
                double should = -noise * noise / 2 - held - log(2 * 3.14159265358979324) / 2 - slope;
                float log_pi, a = rllb_i_gaussian(y, (float)noise, &log_pi);
                worst = nn_worse(worst, fabs((double)log_pi - should) / fmax(1, fabs(should)));
                worst_action = nn_worse(worst_action, fabs((double)a - tanh(u)));
            }
        }
    }
    NOTE("ln of densities off by %.1e, actions by %.1e", worst, worst_action);
    CHECK(worst <= 3e-6); /* u is rounded to a float: by 2e-6 where it is largest */
    CHECK(worst_action <= 2e-6);
}

/* A deviation that is held at its bounds passes no gradient on. */
TEST(deviations_are_held)
{
    static const float bias[3] = { 6, -30, 0.5f };
    int i;

    for (i = 0; i < 3; i++) {
        rllb_nn_sac_desc d;
        rllb_nn_sac *s;
        slow p;
        world w;
        float spread;
        rllb_nn_sac_desc_default(&d);
        d.space.observations = 2;
        d.batch = 1;
        d.actor.hidden[0] = 4;
        d.replay.capacity = 10;
        s = rllb_nn_sac_create(&d);
        REQUIRE(s);
        p = slow_of(s->actor, s->actor->data);
        *p.at[p.n - 1] = bias[i]; /* the last bias is that of the log deviation */
        world_begin(&w, 2);
        w.left = 1;
        world_see(&w);
        world_turn(&w);
        CHECK_EQ_I(rllb_nn_sac_observe(s, &w.step), RLLB_OK);
        CHECK_EQ_I(rllb_nn_sac_update(s, NULL), RLLB_OK);
        spread = s->y[1] > 2 ? 2.0f : s->y[1] < -20 ? -20.0f : s->y[1];
        CHECK(i < 2 ? !(s->y[1] == spread) : s->y[1] == spread);
        CHECK_NEAR(s->drawn[0], tanh((double)s->y[0] + exp((double)spread) * (double)s->noise[0]), 2e-6);
        CHECK(fabsf(s->dy[0]) > 1e-9f);
        CHECK((s->dy[1] == 0) == (i < 2));
        slow_end(&p);
        rllb_nn_sac_destroy(s);
    }
}
