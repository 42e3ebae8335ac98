/* test_nn_kernels.c - every kernel set of this machine against slow, plain statements in double precision

   Error bounds are derived, not fitted: a sum of k products in float is off by at most (k + 2) 2^-24 sum |a b| from
   the exact one, fused or not, in any order (Higham 2002, Section 3.1). Memory is sized exactly and aligned to 64
   bytes, so that AddressSanitizer sees the first float outside. */

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"

enum { SIDE = 40 };

/* Less under sanitizers, and on ARM, which an emulator may be. */
#if defined(RLLB_I_ASAN) || defined(RLLB_NN_I_ARM)
enum { ROUNDS = 3 * SIDE, GRID = 20000, STEPS = 120 };
#else
enum { ROUNDS = 15 * SIDE, GRID = 160000, STEPS = 400 };
#endif

static const double ROUNDING = 1.0 / 16777216; /* 2^-24 */

static int32_t any_side(rllb_rng *rng)
{
    return 1 + rllb_rng_below(rng, SIDE);
}

/* ---- sets and tensors -------------------------------------------------------------------------------------- */

TEST(sets_have_their_names)
{
    int set, found = 0;

    CHECK_STR(rllb_nn_kernels_name(NULL), "none");
    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        if (!k) continue;
        found++;
        NOTE("%s", rllb_nn_kernels_name(k));
        CHECK_STR(rllb_nn_kernels_name(k), nn_sets[set].name);
    }
    CHECK(found >= 1);
    CHECK(rllb_nn_kernels_query(RLLB_NN_ISA_GENERIC, false) == nn_kernels(0));
    CHECK(rllb_nn_kernels_query(RLLB_NN_ISA_DEFAULT, false) != NULL);
    CHECK(rllb_nn_kernels_query(RLLB_NN_ISA_DEFAULT, true) != NULL);
    CHECK(rllb_nn_kernels_query(RLLB_NN_ISA_NUM, false) == NULL);
    CHECK(rllb_nn_kernels_query((rllb_nn_isa)-1, true) == NULL);
#ifdef RLLB_NN_I_X86
    CHECK(rllb_nn_kernels_query(RLLB_NN_ISA_NEON, false) == NULL);
#endif
#ifdef RLLB_NN_I_ARM
    CHECK(rllb_nn_kernels_query(RLLB_NN_ISA_AVX2, false) == NULL);
#endif
}

TEST(panels_hold_what_was_loaded)
{
    rllb_rng rng;
    int32_t rows, cols, r, c;

    rllb_rng_init(&rng, 1, 0);
    CHECK_EQ_I(rllb_nn_tensor_floats(0, 3), 0);
    CHECK_EQ_I(rllb_nn_tensor_floats(3, -1), 0);
    for (rows = 1; rows <= SIDE; rows += 3) {
        for (cols = 1; cols <= SIDE; cols++) {
            nn_matrix m = nn_matrix_make(&rng, rows, cols);
            float *back = (float *)malloc(sizeof(float) * (size_t)(rows * cols));
            bool same = true;
            REQUIRE(back);
            CHECK_EQ_I(rllb_nn_tensor_floats(rows, cols), rows * ((cols + 15) / 16) * 16);
            for (r = 0; r < rows; r++) {
                for (c = 0; c < cols; c++) same = same && nn_at(&m.t, r, c) == m.plain[r * cols + c];
            }
            CHECK(same);
            CHECK(nn_padding_is_zero(&m.t));
            rllb_nn_tensor_save(&m.t, back, (size_t)cols);
            CHECK_MEM(back, m.plain, sizeof(float) * (size_t)(rows * cols));
            free(back);
            nn_matrix_free(&m);
        }
    }
}

TEST(strides_leave_the_rest_alone)
{
    float from[4 * 7], to[4 * 9], data_room[4 * 16 + 16];
    rllb_nn_tensor t;
    int32_t r, c;

    t.data = data_room + (16 - ((uintptr_t)data_room / sizeof(float)) % 16) % 16;
    t.rows = 4;
    t.cols = 5;
    for (r = 0; r < 28; r++) from[r] = (float)r;
    for (r = 0; r < 36; r++) to[r] = -1;
    rllb_nn_tensor_load(&t, from, 7);
    rllb_nn_tensor_save(&t, to, 9);
    for (r = 0; r < 4; r++) {
        for (c = 0; c < 9; c++) CHECK(to[r * 9 + c] == (c < 5 ? (float)(r * 7 + c) : -1.0f));
    }
}

/* ---- products ---------------------------------------------------------------------------------------------- */

static double element(const nn_matrix *m, bool transposed, int32_t r, int32_t c)
{
    return (double)(transposed ? m->plain[c * m->t.cols + r] : m->plain[r * m->t.cols + c]);
}

/* The largest error of C in units of what is allowed; above 1 is too much. */
static double product_error(rllb_nn_product form, const nn_matrix *a, const nn_matrix *b, const nn_matrix *c,
                            int32_t depth, bool accumulate)
{
    double worst = 0;
    int32_t i, j, k;

    for (i = 0; i < c->t.rows; i++) {
        for (j = 0; j < c->t.cols; j++) {
            double start = accumulate ? (double)c->plain[i * c->t.cols + j] : 0, sum = start, size = fabs(start), off;
            for (k = 0; k < depth; k++) {
                double p = element(a, form == RLLB_NN_TN, i, k) * element(b, form == RLLB_NN_NT, k, j);
                sum += p;
                size += fabs(p);
            }
            off = fabs((double)nn_at(&c->t, i, j) - sum) / ((depth + 2) * ROUNDING * size + 1e-30);
            worst = nn_worse(worst, off);
        }
    }
    return worst;
}

static void check_product(rllb_rng *rng, const rllb_nn_kernels *k, rllb_nn_product form, int32_t m, int32_t n,
                          int32_t depth, bool accumulate)
{
    nn_matrix a = form == RLLB_NN_TN ? nn_matrix_make(rng, depth, m) : nn_matrix_make(rng, m, depth);
    nn_matrix b = form == RLLB_NN_NT ? nn_matrix_make(rng, n, depth) : nn_matrix_make(rng, depth, n);
    nn_matrix c = nn_matrix_make(rng, m, n);
    float *scratch = form == RLLB_NN_NT ? nn_floats(rllb_nn_tensor_floats(depth, n)) : NULL;
    size_t i;

    for (i = 0; !accumulate && i < rllb_nn_tensor_floats(m, n); i++) c.t.data[i] = 77; /* must be overwritten */
    NOTE("%s, form %d, %d x %d, depth %d, accumulate %d", rllb_nn_kernels_name(k), (int)form, (int)m, (int)n,
         (int)depth, (int)accumulate);
    CHECK_EQ_I(rllb_nn_multiply(k, form, &a.t, &b.t, &c.t, accumulate, scratch), RLLB_OK);
    CHECK(product_error(form, &a, &b, &c, depth, accumulate) <= 1);
    CHECK(nn_padding_is_zero(&c.t));
    nn_matrix_free(&a);
    nn_matrix_free(&b);
    nn_matrix_free(&c);
    free(scratch);
}

TEST(products)
{
    static const int32_t deep[][3] = { { 3, 17, 127 }, { 17, 5, 128 }, { 6, 33, 129 }, { 40, 64, 256 }, { 1, 1, 300 } };
    bool verbose = test_state.verbose;
    rllb_rng rng;
    int set, round, form;

    test_state.verbose = false; /* a note for each product would be many */
    rllb_rng_init(&rng, 2, 0);
    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        if (!k) continue;
        for (form = 0; form < 3; form++) {
            for (round = 0; round < ROUNDS; round++) {
                int32_t m = any_side(&rng), n = any_side(&rng), depth = any_side(&rng);
                if (round < SIDE) m = round + 1; /* every size of every side at least once */
                else if (round < 2 * SIDE) n = round - SIDE + 1;
                else if (round < 3 * SIDE) depth = round - 2 * SIDE + 1;
                check_product(&rng, k, (rllb_nn_product)form, m, n, depth, round % 2 == 1);
            }
            for (round = 0; round < (int)(sizeof deep / sizeof *deep); round++) {
                check_product(&rng, k, (rllb_nn_product)form, deep[round][0], deep[round][1], deep[round][2], false);
                check_product(&rng, k, (rllb_nn_product)form, deep[round][0], deep[round][1], deep[round][2], true);
            }
        }
    }
    test_state.verbose = verbose;
}

TEST(products_refuse_what_does_not_fit)
{
    rllb_rng rng;
    nn_matrix a, b, c;
    const rllb_nn_kernels *k = nn_kernels(0);

    rllb_rng_init(&rng, 3, 0);
    a = nn_matrix_make(&rng, 3, 4);
    b = nn_matrix_make(&rng, 5, 6);
    c = nn_matrix_make(&rng, 3, 6);
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_NN, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_TN, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_NT, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    b.t.rows = 4; /* fits now */
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_NN, &a.t, &b.t, &c.t, false, NULL), RLLB_OK);
    c.t.rows = 2;
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_NN, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    c.t.rows = 3;
    CHECK_EQ_I(rllb_nn_multiply(k, (rllb_nn_product)3, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_multiply(NULL, RLLB_NN_NN, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_NN, &a.t, NULL, &c.t, false, NULL), RLLB_ERROR_ARGUMENT);
    b.t.rows = 6;
    b.t.cols = 4;
    CHECK_EQ_I(rllb_nn_multiply(k, RLLB_NN_NT, &a.t, &b.t, &c.t, false, NULL), RLLB_ERROR_ARGUMENT); /* no scratch */
    nn_matrix_free(&a);
    nn_matrix_free(&b);
    nn_matrix_free(&c);
}

TEST(vectors_and_column_sums)
{
    rllb_rng rng;
    int set, round;

    rllb_rng_init(&rng, 4, 0);
    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        for (round = 0; k && round < ROUNDS; round++) {
            int32_t in = round < SIDE ? round + 1 : any_side(&rng), i, o;
            int32_t out = round >= SIDE && round < 2 * SIDE ? round - SIDE + 1 : 1 + rllb_rng_below(&rng, 2 * SIDE);
            nn_matrix w = nn_matrix_make(&rng, in, out), x = nn_matrix_make(&rng, 1, in);
            nn_matrix bias = nn_matrix_make(&rng, 1, out), y = nn_matrix_make(&rng, 1, out);
            double worst = 0;
            rllb_nn_multiply_vector(k, x.t.data, &w.t, bias.t.data, y.t.data);
            for (o = 0; o < out; o++) {
                double sum = (double)bias.plain[o], size = fabs(sum);
                for (i = 0; i < in; i++) {
                    double p = (double)x.plain[i] * (double)w.plain[i * out + o];
                    sum += p;
                    size += fabs(p);
                }
                sum = fabs((double)y.t.data[o] - sum) / ((in + 2) * ROUNDING * size + 1e-30);
                worst = nn_worse(worst, sum);
            }
            CHECK(worst <= 1);
            CHECK(nn_padding_is_zero(&y.t));
            rllb_nn_column_sums(k, &w.t, y.t.data);
            for (o = 0, worst = 0; o < out; o++) {
                double sum = 0, size = 0;
                for (i = 0; i < in; i++) {
                    sum += (double)w.plain[i * out + o];
                    size += fabs((double)w.plain[i * out + o]);
                }
                sum = fabs((double)y.t.data[o] - sum) / ((in + 2) * ROUNDING * size + 1e-30);
                worst = nn_worse(worst, sum);
            }
            CHECK(worst <= 1);
            CHECK(nn_padding_is_zero(&y.t));
            nn_matrix_free(&w);
            nn_matrix_free(&x);
            nn_matrix_free(&bias);
            nn_matrix_free(&y);
        }
    }
}

/* ---- exp, tanh, activations -------------------------------------------------------------------------------- */

/* Distance from `exact` in units of the last place that a float of its size has. */
static double ulps(float is, double exact)
{
    int exponent;
    double unit;

    if (exact == 0) return (double)is == 0 ? 0 : 1e9;
    frexp(exact, &exponent);
    unit = ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
    return fabs((double)is - exact) / unit;
}

/* exp by itself, as the sigmoid and the softmax use it: within 1 ulp wherever 2^n is a normal number. */
TEST(exp_is_within_1_ulp)
{
    double worst = 0;
    float at = 0, v[4];
    int i;

    for (i = 0; i <= GRID; i++) {
        float x = -87.0f + (float)i * (175.0f / GRID);
        double off;
        rllb_i_generic_store(v, rllb_i_expv_generic(rllb_i_generic_set1(x)));
        off = ulps(v[0], exp((double)x));
        if (off > worst) worst = off, at = x;
    }
    NOTE("exp: %.2f ulp at %g", worst, (double)at);
    CHECK(worst <= 1);
}

/* Bounds in ulp between -87 and 87, stated for every set. */
TEST(activations_are_close)
{
    static const struct {
        rllb_nn_activation kind;
        double bound;
    } kinds[] = { { RLLB_NN_LINEAR, 0 }, { RLLB_NN_RELU, 0 }, { RLLB_NN_LEAKY_RELU, 0.5 }, { RLLB_NN_TANH, 3 },
                  { RLLB_NN_SIGMOID, 2.5 }, { RLLB_NN_ELU, 1 } };
    int set, kind, i;
    enum { N = GRID };
    float *y = nn_floats(N), *x = nn_floats(N);
    rllb_nn_tensor t;

    t.data = y;
    t.rows = N / 16;
    t.cols = 16;
    for (i = 0; i < N; i++) {
        double part = (double)(i % (N / 4)) / (N / 4) * 2 - 1; /* four ranges: large, unit, small, tiny */
        x[i] = (float)(part * (i < N / 4 ? 87 : i < N / 2 ? 4 : i < 3 * N / 4 ? 0.1 : 1e-5));
    }
    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        for (kind = 0; k && kind < (int)(sizeof kinds / sizeof *kinds); kind++) {
            double worst = 0;
            float at = 0;
            memcpy(y, x, N * sizeof(float));
            rllb_nn_activate(k, kinds[kind].kind, &t, 0.3f);
            for (i = 0; i < N; i++) {
                double off = ulps(y[i], slow_activation(kinds[kind].kind, (double)x[i], (double)0.3f));
                if (!(off <= worst)) at = x[i];
                worst = nn_worse(worst, off);
            }
            NOTE("%s, %s: %.2f ulp at %g", rllb_nn_kernels_name(k), rllb_nn_activation_name(kinds[kind].kind), worst,
                 (double)at);
            CHECK(worst <= kinds[kind].bound);
        }
    }
    free(x);
    free(y);
}

TEST(activations_at_the_edges)
{
    const float inf = (float)INFINITY, nan = (float)NAN;
    int set, kind, i;

    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        for (kind = RLLB_NN_LINEAR; k && kind < RLLB_NN_ACTIVATION_NUM; kind++) {
            static const double low[] = { 0, -HUGE_VAL, 0, -HUGE_VAL, -1, 0, -1 };
            static const double high[] = { 0, HUGE_VAL, HUGE_VAL, HUGE_VAL, 1, 1, HUGE_VAL };
            float given[8] = { 0.0f, -0.0f, 100, -100, inf, -inf, nan, 1e-40f };
            nn_matrix m;
            rllb_rng rng;
            rllb_rng_init(&rng, 5, 0);
            m = nn_matrix_make(&rng, 3, 8);
            for (i = 0; i < 8; i++) m.t.data[i] = m.t.data[16 + i] = m.t.data[32 + i] = given[i];
            NOTE("%s, %s", rllb_nn_kernels_name(k), rllb_nn_activation_name((rllb_nn_activation)kind));
            rllb_nn_activate(k, (rllb_nn_activation)kind, &m.t, 0.25f);
            CHECK_NEAR(m.t.data[0], kind == RLLB_NN_SIGMOID ? 0.5 : 0, 1e-7);
            CHECK_NEAR(m.t.data[1], kind == RLLB_NN_SIGMOID ? 0.5 : 0, 1e-7);
            CHECK_NEAR(m.t.data[2], high[kind] < 2 ? 1 : 100, 1e-7);
            CHECK_NEAR(m.t.data[3], kind == RLLB_NN_LINEAR ? -100 : kind == RLLB_NN_LEAKY_RELU ? -25 : low[kind], 1e-7);
            CHECK_NEAR(m.t.data[4], high[kind], 1e-7);
            CHECK_NEAR(m.t.data[5], low[kind], 1e-7);
            CHECK(m.t.data[6] != m.t.data[6]); /* NaN comes through */
            CHECK_NEAR(m.t.data[7], kind == RLLB_NN_SIGMOID ? 0.5 : 0, 1e-7);
            CHECK_MEM(m.t.data + 16, m.t.data, 8 * sizeof(float));
            CHECK(nn_padding_is_zero(&m.t));
            nn_matrix_free(&m);
        }
    }
}

/* act'(x), written by y, against the derivative of the exact function at the place where it takes the value y. */
TEST(derivatives_are_close)
{
    int set, kind, i;
    enum { N = 1600 };
    float *y = nn_floats(N), *d = nn_floats(N);
    rllb_nn_tensor t, td;

    t.data = y;
    td.data = d;
    t.rows = td.rows = N / 16;
    t.cols = td.cols = 16;
    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        for (kind = RLLB_NN_LINEAR; k && kind < RLLB_NN_ACTIVATION_NUM; kind++) {
            double worst = 0;
            for (i = 0; i < N; i++) {
                y[i] = ((float)i + 0.5f) / N * 20 - 10;
                d[i] = (i % 3 == 0 ? -2.0f : 0.75f);
            }
            rllb_nn_activate(k, (rllb_nn_activation)kind, &t, 0.25f);
            rllb_nn_activate_back(k, (rllb_nn_activation)kind, &t, &td, 0.25f);
            for (i = 0; i < N; i++) {
                double x = (double)((((float)i + 0.5f) / N) * 20 - 10), step = 1e-4, slope, given = i % 3 ? 0.75 : -2;
                slope = (slow_activation((rllb_nn_activation)kind, x + step, 0.25) -
                         slow_activation((rllb_nn_activation)kind, x - step, 0.25)) / (2 * step);
                slope = fabs((double)d[i] - given * slope);
                worst = nn_worse(worst, slope);
            }
            NOTE("%s, %s: %.1e", rllb_nn_kernels_name(k), rllb_nn_activation_name((rllb_nn_activation)kind), worst);
            CHECK(worst <= 1e-6);
        }
        /* where the slope jumps, the side below counts */
        for (kind = RLLB_NN_RELU; k && kind <= RLLB_NN_LEAKY_RELU; kind++) {
            t.rows = td.rows = 1;
            memset(y, 0, 16 * sizeof(float));
            y[1] = -0.0f;
            for (i = 0; i < 16; i++) d[i] = 8;
            rllb_nn_activate_back(k, (rllb_nn_activation)kind, &t, &td, 0.25f);
            CHECK_NEAR(d[0], kind == RLLB_NN_RELU ? 0 : 2, 0);
            CHECK_NEAR(d[1], kind == RLLB_NN_RELU ? 0 : 2, 0);
            t.rows = td.rows = N / 16;
        }
    }
    free(y);
    free(d);
}

TEST(softmax_of_rows)
{
    rllb_rng rng;
    int set, round, logarithm;
    double worst[2] = { 0, 0 };

    rllb_rng_init(&rng, 6, 0);
    for (set = 0; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        for (round = 0; k && round < ROUNDS; round++) {
            int32_t rows = any_side(&rng), cols = round < SIDE ? round + 1 : any_side(&rng), r, c;
            for (logarithm = 0; logarithm < 2; logarithm++) {
                nn_matrix m = nn_matrix_make(&rng, rows, cols);
                float spread = round % 3 == 0 ? 1.0f : round % 3 == 1 ? 30.0f : 1000.0f;
                for (r = 0; r < rows * cols; r++) m.plain[r] *= spread;
                rllb_nn_tensor_load(&m.t, m.plain, (size_t)cols);
                rllb_nn_softmax(k, &m.t, logarithm != 0);
                for (r = 0; r < rows; r++) {
                    double most = -1e30, sum = 0;
                    for (c = 0; c < cols; c++) most = fmax(most, (double)m.plain[r * cols + c]);
                    for (c = 0; c < cols; c++) sum += exp((double)m.plain[r * cols + c] - most);
                    for (c = 0; c < cols; c++) {
                        double z = (double)m.plain[r * cols + c] - most;
                        double should = logarithm ? z - log(sum) : exp(z) / sum;
                        double off = fabs((double)nn_at(&m.t, r, c) - should) / (logarithm ? 1 + fabs(should) : 1);
                        worst[logarithm] = nn_worse(worst[logarithm], off);
                    }
                }
                CHECK(nn_padding_is_zero(&m.t));
                nn_matrix_free(&m);
            }
        }
    }
    NOTE("softmax off by %.1e, its logarithm by %.1e of its size", worst[0], worst[1]);
    CHECK(worst[0] <= 1e-6);
    CHECK(worst[1] <= 1e-6);
}

/* ---- networks ---------------------------------------------------------------------------------------------- */

/* All kinds of layers and all kernels by way of networks; one row and many rows take different kernels. */
TEST(forward_passes)
{
    rllb_nn_net_desc d;
    int set, i, round = 0;
    double worst = 0;
    rllb_rng rng;

    rllb_rng_init(&rng, 7, 0);
    for (set = 0; set < NN_SETS; set++) {
        if (!nn_kernels(set)) continue;
        for (i = 0; nn_shape(i, &d); i++) {
            static const int32_t rows_of[] = { 1, 2, 3, 7, 16, 17, 40 };
            rllb_nn_net *net;
            rllb_nn_work *work;
            slow_net slow;
            int n, r, o;
            d.isa = nn_sets[set].isa;
            d.portable = nn_sets[set].portable;
            d.seed = (uint64_t)i;
            d.start = (rllb_nn_start)(1 + round++ % 3);
            net = rllb_nn_net_create(&d);
            REQUIRE(net);
            for (o = 0; o < net->layers; o++) { /* gains and shifts other than 1 and 0 */
                const rllb_i_layer *l = &net->layer[o];
                for (r = 0; l->norm && r < l->out; r++) {
                    net->data[l->gain + (size_t)r] = rllb_rng_range(&rng, 0.5f, 2);
                    net->data[l->shift + (size_t)r] = rllb_rng_range(&rng, -1, 1);
                }
            }
            work = rllb_nn_work_create(net, 40, false);
            REQUIRE(work);
            slow = slow_make(net);
            for (n = 0; n < 7; n++) {
                int32_t rows = rows_of[n];
                float *x = (float *)malloc(sizeof(float) * (size_t)(rows * d.inputs));
                float *y = (float *)malloc(sizeof(float) * (size_t)(rows * d.outputs));
                REQUIRE(x && y);
                nn_fill(&rng, x, (size_t)(rows * d.inputs));
                rllb_nn_forward(net, work, x, rows, y);
                for (r = 0; r < rows; r++) {
                    double in[32], out[32];
                    int best = 0;
                    for (o = 0; o < d.inputs; o++) in[o] = (double)x[r * d.inputs + o];
                    slow_forward(&slow, in, out);
                    for (o = 0; o < d.outputs; o++) {
                        double off = fabs(out[o] - (double)y[r * d.outputs + o]) / fmax(1, fabs(out[o]));
                        worst = nn_worse(worst, off);
                        if (out[o] > out[best]) best = o;
                    }
                    o = rllb_nn_best(net, work, x + r * d.inputs, NULL);
                    CHECK(o == best || fabs(out[o] - out[best]) < 1e-5);
                }
                free(x);
                free(y);
            }
            slow_free(&slow);
            rllb_nn_work_destroy(work);
            rllb_nn_net_destroy(net);
        }
    }
    NOTE("forward passes off by at most %.1e of max(1, size)", worst);
    CHECK(worst <= 5e-6);
}

/* Steps of training, then every parameter outside the matrices must still be zero, and so must the gradient there. */
TEST(padding_of_parameters_stays_zero)
{
    rllb_nn_net_desc d;
    rllb_nn_opt_desc od;
    bool verbose = test_state.verbose;
    int set, i, step;
    rllb_rng rng;

    test_state.verbose = false;
    rllb_rng_init(&rng, 8, 0);
    for (set = 0; set < NN_SETS; set++) {
        if (!nn_kernels(set)) continue;
        for (i = 0; nn_shape(i, &d); i++) {
            enum { ROWS = 5 };
            rllb_nn_net *net;
            rllb_nn_work *work;
            rllb_nn_opt *opt;
            float x[ROWS * 32], y[ROWS * 32], *gradient;
            slow_net slow;
            size_t f, p, outside = 0;
            d.isa = nn_sets[set].isa;
            d.portable = nn_sets[set].portable;
            net = rllb_nn_net_create(&d);
            REQUIRE(net);
            memset(&od, 0, sizeof od);
            od.kind = (rllb_nn_opt_kind)(1 + i % 4);
            od.weight_decay = 0.01f;
            od.isa = d.isa;
            od.portable = d.portable;
            work = rllb_nn_work_create(net, ROWS, true);
            opt = rllb_nn_opt_create(&od, rllb_nn_net_floats(net));
            gradient = nn_floats(rllb_nn_net_floats(net));
            REQUIRE(work && opt);
            for (step = 0; step < 4; step++) {
                nn_fill(&rng, x, (size_t)(ROWS * d.inputs));
                rllb_nn_forward(net, work, x, ROWS, y);
                rllb_nn_backward(net, work, y, ROWS, gradient, NULL);
                CHECK_EQ_I(rllb_nn_opt_step(opt, rllb_nn_net_data(net), gradient, NULL), RLLB_OK);
            }
            slow = slow_make(net);
            NOTE("%s, shape %d", nn_sets[set].name, i);
            for (p = 0; p < slow.count; p++) {
                net->data[slow.at[p]] = 0;
                gradient[slow.at[p]] = 0;
            }
            for (f = 0; f < rllb_nn_net_floats(net); f++) {
                if (!(net->data[f] == 0) || !(gradient[f] == 0)) outside++;
            }
            CHECK_EQ_I(outside, 0);
            slow_free(&slow);
            free(gradient);
            rllb_nn_opt_destroy(opt);
            rllb_nn_work_destroy(work);
            rllb_nn_net_destroy(net);
        }
    }
    test_state.verbose = verbose;
}

/* ---- the same bits ----------------------------------------------------------------------------------------- */

static uint64_t digest(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *b = (const unsigned char *)bytes;

    while (n--) h = (h ^ *b++) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t digest_tensor(uint64_t h, const nn_matrix *m)
{
    return digest(h, m->t.data, sizeof(float) * rllb_nn_tensor_floats(m->t.rows, m->t.cols));
}

/* Every operation on random data, told as one number per operation. */
enum { OPERATIONS = 14 };

static void digest_operations(const rllb_nn_kernels *k, uint64_t h[OPERATIONS])
{
    rllb_rng rng;
    int round, i;

    for (i = 0; i < OPERATIONS; i++) h[i] = 1;
    rllb_rng_init(&rng, 9, 0);
    for (round = 0; round < ROUNDS / 3; round++) {
        int32_t m = any_side(&rng), n = any_side(&rng), depth = round % 10 == 0 ? 150 : any_side(&rng);
        nn_matrix a = nn_matrix_make(&rng, m, depth), b = nn_matrix_make(&rng, depth, n);
        nn_matrix c = nn_matrix_make(&rng, m, n);
        nn_matrix at = nn_matrix_make(&rng, depth, m), bt = nn_matrix_make(&rng, n, depth);
        nn_matrix row = nn_matrix_make(&rng, 1, n), gain = nn_matrix_make(&rng, 1, n), d = nn_matrix_make(&rng, m, n);
        float *scratch = nn_floats(rllb_nn_tensor_floats(depth, n));
        float *inverse = nn_floats(rllb_nn_tensor_floats(1, m)), sum;
        size_t floats = rllb_nn_tensor_floats(m, n);
        rllb_i_descent step = { RLLB_NN_ADAM, 0.5f, 0.01f, 0.999f, 0.01f, 0.9f, 0.99f, 1.25f, 1e-8f };
        rllb_nn_multiply(k, RLLB_NN_NN, &a.t, &b.t, &c.t, true, NULL);
        h[0] = digest_tensor(h[0], &c);
        rllb_nn_multiply(k, RLLB_NN_TN, &at.t, &b.t, &c.t, false, NULL);
        h[1] = digest_tensor(h[1], &c);
        rllb_nn_multiply(k, RLLB_NN_NT, &a.t, &bt.t, &c.t, true, scratch);
        h[2] = digest_tensor(h[2], &c);
        rllb_nn_multiply_vector(k, a.t.data, &b.t, gain.t.data, row.t.data); /* any `depth` floats will do as x */
        h[3] = digest_tensor(h[3], &row);
        k->multiply_nn(a.t.data, b.t.data, c.t.data, m, n, depth, gain.t.data, 0.01f, 0);
        h[4] = digest_tensor(h[4], &c);
        k->dots(a.t.data, m, depth, bt.t.data, gain.t.data, d.t.data, n < 8 ? n : 7);
        h[5] = digest(h[5], d.t.data, sizeof(float) * (size_t)m * 16);
        rllb_nn_tensor_load(&d.t, d.plain, (size_t)n);
        rllb_nn_column_sums(k, &b.t, row.t.data);
        h[6] = digest_tensor(h[6], &row);
        for (i = RLLB_NN_RELU; i <= RLLB_NN_ELU; i++) {
            rllb_nn_tensor_load(&c.t, c.plain, (size_t)n);
            rllb_nn_activate(k, (rllb_nn_activation)i, &c.t, 0.01f);
            h[7] = digest_tensor(h[7], &c);
            rllb_nn_activate_back(k, (rllb_nn_activation)i, &c.t, &d.t, 0.01f);
            h[8] = digest_tensor(h[8], &d);
        }
        rllb_nn_tensor_load(&c.t, c.plain, (size_t)n);
        rllb_nn_softmax(k, &c.t, round % 2 == 0);
        h[9] = digest_tensor(h[9], &c);
        rllb_nn_tensor_load(&c.t, c.plain, (size_t)n);
        rllb_nn_tensor_load(&d.t, d.plain, (size_t)n);
        k->norm(c.t.data, m, n, gain.t.data, row.t.data, d.t.data, c.t.data, inverse);
        h[10] = digest(digest_tensor(digest_tensor(h[10], &c), &d), inverse, sizeof(float) * (size_t)m);
        k->norm_back(c.t.data, d.t.data, m, n, gain.t.data, inverse, row.t.data, scratch);
        h[11] = digest_tensor(digest_tensor(h[11], &c), &row);
        h[11] = digest(h[11], scratch, sizeof(float) * rllb_nn_tensor_floats(1, n));
        sum = k->square_sum(c.t.data, floats);
        h[12] = digest(h[12], &sum, sizeof sum);
        k->blend(c.t.data, d.t.data, floats, 0.005f);
        h[12] = digest_tensor(h[12], &c);
        for (i = RLLB_NN_ADAM; i < RLLB_NN_OPT_NUM; i++) {
            nn_matrix moment = nn_matrix_make(&rng, m, n), square = nn_matrix_make(&rng, m, n);
            size_t f;
            for (f = 0; f < floats; f++) square.t.data[f] *= square.t.data[f];
            step.kind = (rllb_nn_opt_kind)i;
            k->descend(&step, c.t.data, d.t.data, moment.t.data, square.t.data, floats);
            h[13] = digest_tensor(digest_tensor(digest_tensor(h[13], &c), &moment), &square);
            nn_matrix_free(&moment);
            nn_matrix_free(&square);
        }
        nn_matrix_free(&a);
        nn_matrix_free(&b);
        nn_matrix_free(&c);
        nn_matrix_free(&at);
        nn_matrix_free(&bt);
        nn_matrix_free(&row);
        nn_matrix_free(&gain);
        nn_matrix_free(&d);
        free(scratch);
        free(inverse);
    }
}

TEST(portable_sets_agree_bit_for_bit)
{
    static const char *const names[OPERATIONS] = {
        "multiply_nn accumulated", "multiply_tn", "multiply_nt accumulated", "vector", "multiply_nn fused", "dots",
        "column_sums", "activate", "activate_back", "softmax", "norm", "norm_back", "square_sum and blend", "descend"
    };
    uint64_t first[OPERATIONS], other[OPERATIONS];
    int set, i;

    digest_operations(nn_kernels(0), first);
    for (set = 1; set < NN_SETS; set++) {
        const rllb_nn_kernels *k = nn_kernels(set);
        if (!k || !nn_sets[set].portable) continue;
        digest_operations(k, other);
        for (i = 0; i < OPERATIONS; i++) {
            NOTE("%s, %s", rllb_nn_kernels_name(k), names[i]);
            CHECK_EQ_U(other[i], first[i]);
        }
    }
    digest_operations(nn_kernels(0), other); /* and each set with itself */
    CHECK_MEM(other, first, sizeof first);
}

/* A learner with everything switched on, run for a while; what it would save. */
static uint64_t digest_training(int set)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };
    rllb_rng rng;
    uint64_t h = 1;
    unsigned char *file;
    size_t size;
    float now[5], next[5];
    int step;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = 5;
    d.net.outputs = 4;
    d.net.hidden[0] = 20;
    d.net.hidden[1] = 33;
    d.net.dueling = 18;
    d.net.layer_norm = true;
    d.net.activation = RLLB_NN_TANH;
    d.net.isa = nn_sets[set].isa;
    d.net.portable = nn_sets[set].portable;
    d.double_dqn = true;
    d.replay.prioritized = true;
    d.replay.n_step = 3;
    d.replay.capacity = 300;
    d.batch = 20;
    d.seed = 11;
    agent = rllb_nn_dqn_create(&d);
    if (!agent) abort();
    rllb_rng_init(&rng, 12, 0);
    nn_fill(&rng, now, 5);
    for (step = 0; step < STEPS; step++) {
        int32_t action = rllb_nn_dqn_act(agent, now, NULL);
        nn_fill(&rng, next, 5);
        rllb_nn_dqn_observe(agent, now, action, now[action], next, NULL, step % 17 == 16, step % 23 == 22);
        rllb_nn_dqn_update(agent, NULL);
        memcpy(now, next, sizeof now);
    }
    rllb_nn_dqn_entries(agent, &a);
    size = rllb_nn_archive_size(&a, NULL, 0);
    file = (unsigned char *)malloc(size);
    if (!file || rllb_nn_archive_save(&a, NULL, 0, file, size) != RLLB_OK) abort();
    h = digest(h, file, size);
    free(file);
    rllb_nn_dqn_destroy(agent);
    return h;
}

TEST(portable_trainings_agree_bit_for_bit)
{
    uint64_t first = digest_training(0);
    int set;

    for (set = 0; set < NN_SETS; set++) {
        if (!nn_kernels(set) || !nn_sets[set].portable) continue;
        NOTE("%s", nn_sets[set].name);
        CHECK_EQ_U(digest_training(set), first);
    }
}

TEST(the_same_set_gives_the_same_bits_again)
{
    int set;

    for (set = 0; set < NN_SETS; set++) {
        if (!nn_kernels(set)) continue;
        NOTE("%s", nn_sets[set].name);
        CHECK_EQ_U(digest_training(set), digest_training(set));
    }
}
