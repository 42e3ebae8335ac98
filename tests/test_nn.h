/* test_nn.h - what the tests of rllb_nn.h share: the kernel sets of this machine, exactly sized memory, and a network
   computed slowly and plainly in double precision. Include it behind the implementation of rllb_nn.h. */

#ifndef TEST_NN_H
#define TEST_NN_H

#include <stdlib.h>

#if defined(__GNUC__)
#define NN_MAYBE_UNUSED __attribute__((unused))
#else
#define NN_MAYBE_UNUSED
#endif

/* ---- kernel sets ------------------------------------------------------------------------------------------- */

typedef struct nn_set {
    const char *name;
    rllb_nn_isa isa;
    bool portable;
} nn_set;

enum { NN_SETS = 7 };

NN_MAYBE_UNUSED static const nn_set nn_sets[NN_SETS] = {
    { "generic", RLLB_NN_ISA_GENERIC, true },    { "sse2", RLLB_NN_ISA_SSE2, true },
    { "avx2_portable", RLLB_NN_ISA_AVX2, true }, { "neon_portable", RLLB_NN_ISA_NEON, true },
    { "avx2", RLLB_NN_ISA_AVX2, false },         { "avx512", RLLB_NN_ISA_AVX512, false },
    { "neon", RLLB_NN_ISA_NEON, false },
};

/* NULL when this machine lacks the set. */
NN_MAYBE_UNUSED static const rllb_nn_kernels *nn_kernels(int set)
{
    return rllb_nn_kernels_query(nn_sets[set].isa, nn_sets[set].portable);
}

/* ---- memory and numbers ------------------------------------------------------------------------------------ */

/* n floats of zero, aligned to 64 bytes, in a block of exactly that size: sanitizers see the first float outside. */
NN_MAYBE_UNUSED static float *nn_floats(size_t n)
{
    void *p = NULL;

    if (posix_memalign(&p, 64, n * sizeof(float)) != 0) abort();
    memset(p, 0, n * sizeof(float));
    return (float *)p;
}

NN_MAYBE_UNUSED static void nn_fill(rllb_rng *rng, float *v, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) v[i] = rllb_rng_range(rng, -1, 1);
}

/* The larger of two errors; an error that is NaN is infinitely large. */
NN_MAYBE_UNUSED static double nn_worse(double worst, double off)
{
    return off <= worst ? worst : off > worst ? off : (double)INFINITY;
}

/* A matrix in panels with random elements, and the same row after row. */
typedef struct nn_matrix {
    rllb_nn_tensor t;
    float *plain;
} nn_matrix;

NN_MAYBE_UNUSED static nn_matrix nn_matrix_make(rllb_rng *rng, int32_t rows, int32_t cols)
{
    nn_matrix m;

    m.t.data = nn_floats(rllb_nn_tensor_floats(rows, cols));
    m.t.rows = rows;
    m.t.cols = cols;
    m.plain = (float *)malloc(sizeof(float) * (size_t)rows * (size_t)cols);
    if (!m.plain) abort();
    nn_fill(rng, m.plain, (size_t)rows * (size_t)cols);
    rllb_nn_tensor_load(&m.t, m.plain, (size_t)cols);
    return m;
}

NN_MAYBE_UNUSED static void nn_matrix_free(nn_matrix *m)
{
    free(m->t.data);
    free(m->plain);
}

/* Element (r, c), by the formula that rllb_nn.h promises. */
NN_MAYBE_UNUSED static float nn_at(const rllb_nn_tensor *t, int32_t r, int32_t c)
{
    return t->data[(c / 16) * t->rows * 16 + r * 16 + c % 16];
}

/* Whether every lane behind the last column is zero. */
NN_MAYBE_UNUSED static bool nn_padding_is_zero(const rllb_nn_tensor *t)
{
    int32_t r, c;

    for (r = 0; r < t->rows; r++) {
        for (c = t->cols; c % 16; c++) {
            if (!(nn_at(t, r, c) == 0)) return false;
        }
    }
    return true;
}

/* ---- the slow network -------------------------------------------------------------------------------------- */

typedef struct slow_layer {
    int32_t in, out, input;
    bool norm;
    rllb_nn_activation activation;
    size_t weight, bias, gain, shift; /* into p; weight [out][in] */
} slow_layer;

typedef struct slow_net {
    int32_t layers, inputs, outputs, value;
    double leak;
    slow_layer layer[16];
    size_t count;
    double *p;  /* all parameters */
    size_t *at; /* where the network keeps each of them: index into rllb_nn_net_data */
    double *y[16];
} slow_net;

NN_MAYBE_UNUSED static double slow_activation(rllb_nn_activation kind, double x, double leak)
{
    switch (kind) {
    case RLLB_NN_RELU: return x > 0 ? x : 0;
    case RLLB_NN_LEAKY_RELU: return x > 0 ? x : leak * x;
    case RLLB_NN_TANH: return tanh(x);
    case RLLB_NN_SIGMOID: return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
    case RLLB_NN_ELU: return x > 0 ? x : expm1(x);
    case RLLB_NN_ACTIVATION_DEFAULT:
    case RLLB_NN_LINEAR:
    case RLLB_NN_ACTIVATION_NUM: break;
    }
    return x;
}

NN_MAYBE_UNUSED static void slow_take(slow_net *s, const rllb_nn_net *net, size_t at)
{
    s->at[s->count] = at;
    s->p[s->count++] = (double)net->data[at];
}

/* A copy of the network. It is built from the private list of layers, so that it says how the layers hang together in
   the same words, but every number is computed anew. */
NN_MAYBE_UNUSED static slow_net slow_make(const rllb_nn_net *net)
{
    slow_net s;
    int32_t n, o, i;

    memset(&s, 0, sizeof s);
    s.layers = net->layers;
    s.inputs = net->desc.inputs;
    s.outputs = net->desc.outputs;
    s.value = net->value;
    s.leak = (double)net->desc.leak;
    s.p = (double *)malloc(sizeof(double) * (size_t)rllb_nn_net_parameters(net));
    s.at = (size_t *)malloc(sizeof(size_t) * (size_t)rllb_nn_net_parameters(net));
    if (!s.p || !s.at) abort();
    for (n = 0; n < s.layers; n++) {
        const rllb_i_layer *from = &net->layer[n];
        slow_layer *l = &s.layer[n];
        l->in = from->in;
        l->out = from->out;
        l->input = from->input;
        l->norm = from->norm;
        l->activation = from->activation;
        s.y[n] = (double *)malloc(sizeof(double) * (size_t)l->out);
        if (!s.y[n]) abort();
        l->weight = s.count;
        for (o = 0; o < l->out; o++) {
            for (i = 0; i < l->in; i++) slow_take(&s, net, (size_t)(rllb_i_weight(net, from, o, i) - net->data));
        }
        l->bias = s.count;
        for (o = 0; o < l->out; o++) slow_take(&s, net, from->bias + (size_t)o);
        l->gain = s.count;
        for (o = 0; l->norm && o < l->out; o++) slow_take(&s, net, from->gain + (size_t)o);
        l->shift = s.count;
        for (o = 0; l->norm && o < l->out; o++) slow_take(&s, net, from->shift + (size_t)o);
    }
    return s;
}

NN_MAYBE_UNUSED static void slow_free(slow_net *s)
{
    int32_t n;

    for (n = 0; n < s->layers; n++) free(s->y[n]);
    free(s->p);
    free(s->at);
}

/* One observation through the network. */
NN_MAYBE_UNUSED static void slow_forward(slow_net *s, const double *x, double *out)
{
    int32_t n, o, i;
    double mean = 0;

    for (n = 0; n < s->layers; n++) {
        const slow_layer *l = &s->layer[n];
        const double *in = l->input < 0 ? x : s->y[l->input];
        double *y = s->y[n], average = 0, variance = 0;
        for (o = 0; o < l->out; o++) {
            y[o] = s->p[l->bias + (size_t)o];
            for (i = 0; i < l->in; i++) y[o] += s->p[l->weight + (size_t)(o * l->in + i)] * in[i];
            average += y[o] / l->out;
        }
        for (o = 0; o < l->out; o++) variance += (y[o] - average) * (y[o] - average) / l->out;
        for (o = 0; o < l->out; o++) {
            if (l->norm) {
                double normal = (y[o] - average) / sqrt(variance + 1e-5);
                y[o] = s->p[l->gain + (size_t)o] * normal + s->p[l->shift + (size_t)o];
            }
            y[o] = slow_activation(l->activation, y[o], s->leak);
        }
    }
    for (o = 0; o < s->outputs; o++) out[o] = s->y[s->layers - 1][o];
    for (o = 0; o < s->outputs; o++) mean += out[o] / s->outputs;
    for (o = 0; s->value >= 0 && o < s->outputs; o++) out[o] += s->y[s->value][0] - mean;
}

/* ---- shapes ------------------------------------------------------------------------------------------------ */

/* The i-th of a list of networks that has every kind of layer in it, wide and narrow, and odd widths; false behind
   the last. Seeds and kernels are the caller's. */
NN_MAYBE_UNUSED static bool nn_shape(int i, rllb_nn_net_desc *d)
{
    static const struct {
        int32_t inputs, outputs, hidden[4], dueling;
        rllb_nn_activation activation, output;
        bool norm;
        float leak;
    } list[] = {
        { 3, 3, { -1 }, 0, RLLB_NN_RELU, RLLB_NN_LINEAR, false, 0 },
        { 5, 20, { -1 }, 0, RLLB_NN_RELU, RLLB_NN_TANH, true, 0 },
        { 1, 1, { 1 }, 0, RLLB_NN_TANH, RLLB_NN_LINEAR, false, 0 },
        { 9, 1, { 17, 33 }, 0, RLLB_NN_RELU, RLLB_NN_LINEAR, false, 0 },
        { 17, 5, { 20, 7 }, 0, RLLB_NN_LEAKY_RELU, RLLB_NN_LINEAR, false, 0 },
        { 4, 8, { 16 }, 0, RLLB_NN_LEAKY_RELU, RLLB_NN_SIGMOID, false, 0.3f },
        { 6, 2, { 7, 21, 3 }, 0, RLLB_NN_SIGMOID, RLLB_NN_LINEAR, false, 0 },
        { 3, 9, { 12, 40 }, 0, RLLB_NN_ELU, RLLB_NN_ELU, false, 0 },
        { 2, 4, { 5, 5, 19, 6 }, 0, RLLB_NN_TANH, RLLB_NN_LINEAR, true, 0 },
        { 8, 3, { 24, 18 }, 0, RLLB_NN_RELU, RLLB_NN_LINEAR, true, 0 },
        { 3, 3, { 16, 11 }, 10, RLLB_NN_LEAKY_RELU, RLLB_NN_LINEAR, false, 0 },
        { 5, 11, { 9 }, 6, RLLB_NN_TANH, RLLB_NN_LINEAR, false, 0 },
        { 4, 2, { -1 }, 18, RLLB_NN_ELU, RLLB_NN_LINEAR, false, 0 },
        { 4, 2, { -1 }, 5, RLLB_NN_RELU, RLLB_NN_LINEAR, true, 0 },
        { 3, 5, { 13, 17 }, 9, RLLB_NN_SIGMOID, RLLB_NN_LINEAR, true, 0 },
    };

    if (i < 0 || i >= (int)(sizeof list / sizeof *list)) return false;
    rllb_nn_net_desc_default(d);
    d->inputs = list[i].inputs;
    d->outputs = list[i].outputs;
    memcpy(d->hidden, list[i].hidden, sizeof list[i].hidden);
    d->dueling = list[i].dueling;
    d->activation = list[i].activation;
    d->output_activation = list[i].output;
    d->layer_norm = list[i].norm;
    d->leak = list[i].leak;
    return true;
}

#endif /* TEST_NN_H */
