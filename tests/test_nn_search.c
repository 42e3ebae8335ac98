/* test_nn_search.c - policy search: candidates mirrored around the mean, ranks, steps, taken up again bit for bit */

#define RLLB_IMPLEMENTATION
#include "rllb_nn.h"
#include "test.h"

#include <stdlib.h>

#ifdef RLLB_I_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* ---- small networks of every shape --------------------------------------------------------------------------- */

typedef enum shape { PLAIN, LINEAR, NORMED, DUELING, RECURRENT, SET, SET_RECURRENT, SHAPES } shape;

static const char *const shape_names[SHAPES] = { "plain", "linear", "layer norm", "dueling", "recurrent", "set",
                                                 "recurrent set" };

/* Widths around that of a panel, so that padding is there, and is not. */
static rllb_nn_net_desc net_desc(shape s)
{
    rllb_nn_net_desc d;

    rllb_nn_net_desc_default(&d);
    d.inputs = 3;
    d.outputs = s == PLAIN ? 32 : 2;
    d.hidden[0] = s == LINEAR ? -1 : 17;
    d.layer_norm = s == NORMED || s == SET_RECURRENT;
    d.dueling = s == DUELING ? 5 : 0;
    if (s == RECURRENT || s == SET_RECURRENT) d.gru = 19;
    if (s == RECURRENT || s == SET) d.after[0] = 6;
    if (s == SET || s == SET_RECURRENT) {
        d.item_inputs = 4;
        d.item_outputs = 1;
    }
    d.seed = 11;
    return d;
}

static rllb_nn_search_desc search_desc(shape s, int32_t pairs)
{
    rllb_nn_search_desc d;

    rllb_nn_search_desc_default(&d);
    d.net = net_desc(s);
    d.pairs = pairs;
    d.seed = 3;
    return d;
}

/* What trials would have returned. */
static void make_returns(rllb_rng *rng, double *returns, int32_t n)
{
    int32_t i;

    for (i = 0; i < n; i++) returns[i] = rllb_rng_normal(rng);
}

enum { PAIRS_MOST = 32 };

static rllb_status live(rllb_nn_search *s, int32_t generations, uint64_t seed)
{
    double returns[2 * PAIRS_MOST];
    rllb_nn_search_desc d;
    rllb_status status = RLLB_OK;
    rllb_rng rng;
    int32_t g;

    rllb_nn_search_query(s, &d);
    rllb_rng_init(&rng, seed, 5);
    for (g = 0; g < generations && status == RLLB_OK; g++) {
        make_returns(&rng, returns, 2 * d.pairs);
        status = rllb_nn_search_update(s, returns, NULL);
    }
    return status;
}

/* ---- descriptors and memory ---------------------------------------------------------------------------------- */

TEST(defaults_are_filled_in)
{
    rllb_nn_search_desc d = search_desc(PLAIN, 0), is;
    rllb_nn_search *s = rllb_nn_search_create(&d);

    REQUIRE(s != NULL);
    rllb_nn_search_query(s, &is);
    CHECK_EQ_I(is.pairs, 16);
    CHECK_NEAR(is.sigma, (double)0.05f, 0);
    CHECK_NEAR(is.opt.lr.from, 0.01, 0);
    CHECK_EQ_I(is.net.hidden[0], 17);
    CHECK_EQ_I(rllb_nn_search_generations(s), 0);
    rllb_nn_search_destroy(s);
    rllb_nn_search_destroy(NULL);
}

TEST(wrong_descriptors_are_refused)
{
    rllb_nn_search_desc good = search_desc(SET, 4), d;
    rllb_nn_search *s = NULL;
    int32_t wrong;

    CHECK(rllb_nn_search_size(&good) > 0);
    CHECK_EQ_U(rllb_nn_search_size(NULL), 0);
    CHECK(rllb_nn_search_create(NULL) == NULL);
    CHECK_EQ_I(rllb_nn_search_init(&good, NULL, 0, NULL), RLLB_ERROR_ARGUMENT);
    for (wrong = 0; wrong < 12; wrong++) {
        d = good;
        switch (wrong) {
        case 0: d.pairs = -1; break;
        case 1: d.pairs = (1 << 16) + 1; break;
        case 2: d.sigma = -0.1f; break;
        case 3: d.sigma = NAN; break;
        case 4: d.sigma = INFINITY; break;
        case 5: d.opt.lr.from = -1; break;
        case 6: d.opt.lr.from = (double)NAN; break;
        case 7: d.opt.beta1 = 1; break;
        case 8: d.net.item_inputs = -1; break;
        case 9: d.net.hidden[0] = RLLB_NN_UNITS_MAX + 1; break;
        case 10: d.net.activation = RLLB_NN_ACTIVATION_NUM; break;
        default: d.opt.kind = RLLB_NN_OPT_NUM; break;
        }
        NOTE("wrong in way %d", (int)wrong);
        CHECK_EQ_U(rllb_nn_search_size(&d), 0);
        CHECK(rllb_nn_search_create(&d) == NULL);
        CHECK_EQ_I(rllb_nn_search_init(&d, &d, sizeof d, &s), RLLB_ERROR_ARGUMENT);
        CHECK(s == NULL);
    }
}

/* A number for all that it holds. */
static uint64_t hash_of(rllb_nn_search *s)
{
    const unsigned char *at = (const unsigned char *)rllb_nn_net_data(rllb_nn_search_net(s));
    size_t i, bytes = rllb_nn_net_floats(rllb_nn_search_net(s)) * sizeof(float);
    uint64_t sum = 14695981039346656037u;

    for (i = 0; i < bytes; i++) sum = (sum ^ at[i]) * 1099511628211u;
    return sum;
}

/* At any address, not a byte beside what it was given, the same life; and refused with a byte less. */
TEST(lives_in_the_memory_it_is_given)
{
    int32_t k;

    for (k = 0; k < SHAPES; k++) {
        rllb_nn_search_desc d = search_desc((shape)k, 3);
        size_t size = rllb_nn_search_size(&d), skew, i, wrong = 0;
        unsigned char *memory = (unsigned char *)malloc(size + 128);
        uint64_t expected = 0;
        REQUIRE(size > 0 && memory != NULL);
        for (skew = 0; skew < 64; skew += 9) {
            rllb_nn_search *s = NULL;
            memset(memory, 0xa5, skew);
            memset(memory + skew + size, 0xa5, 64);
            CHECK_EQ_I(rllb_nn_search_init(&d, memory + skew, size, &s), RLLB_OK);
            REQUIRE(s != NULL);
            CHECK_EQ_I(live(s, 3, 1), RLLB_OK);
            if (skew == 0) expected = hash_of(s);
            CHECK_EQ_U(hash_of(s), expected);
            for (i = 0; i < skew; i++) wrong += memory[i] != 0xa5;
            for (i = 0; i < 64; i++) wrong += memory[skew + size + i] != 0xa5;
            CHECK_EQ_I(rllb_nn_search_init(&d, memory + skew, size - 1, &s), RLLB_ERROR_MEMORY_SIZE);
#ifdef RLLB_I_ASAN
            ASAN_UNPOISON_MEMORY_REGION(memory, size + 128);
#endif
        }
        CHECK_EQ_U(wrong, 0);
        free(memory);
    }
}

/* ---- candidates ---------------------------------------------------------------------------------------------- */

enum { ROOM = 1 << 18, VALUES = 1 << 14 };

static unsigned char file[3][ROOM];

/* A network's parameters as its file has them: no padding, and nothing left out. How many. */
static int64_t values_of(rllb_nn_net *net, float *out)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    int64_t n = 0, rows, cols;
    size_t size, at;
    int32_t i;

    rllb_nn_net_entries(net, "", &a);
    size = rllb_nn_archive_size(&a, NULL, 0);
    if (size == 0 || size > ROOM || rllb_nn_archive_save(&a, NULL, 0, file[0], size) != RLLB_OK) return 0;
    for (i = 0; i < a.count; i++) {
        rllb_nn_dtype type;
        if (rllb_nn_file_query(file[0], size, entries[i].name, &type, &rows, &cols, &at) != RLLB_OK) return 0;
        rows *= cols > 0 ? cols : 1;
        if (type != RLLB_NN_F32 || n + rows > VALUES) return 0;
        memcpy(out + n, file[0] + at, (size_t)rows * sizeof(float));
        n += rows;
    }
    return n;
}

/* Every parameter is moved, and nothing else: padding is zero and stays so, for candidates and for the mean. */
TEST(candidates_differ_in_all_parameters_and_nowhere_else)
{
    static float mean_values[VALUES], values[VALUES];
    int32_t k;

    for (k = 0; k < SHAPES; k++) {
        rllb_nn_search_desc d = search_desc((shape)k, 2);
        rllb_nn_search *s = rllb_nn_search_create(&d);
        rllb_nn_net *to = rllb_nn_net_create(&d.net), *mean;
        int64_t n, parameters, i, moved = 0, changed = 0, filled = 0;
        const float *x, *m;
        NOTE("%s", shape_names[k]);
        REQUIRE(s && to);
        mean = rllb_nn_search_net(s);
        parameters = rllb_nn_net_parameters(mean);
        CHECK_EQ_I(live(s, 2, 8), RLLB_OK); /* biases that begin at zero do not stay there */
        CHECK_EQ_I(rllb_nn_search_candidate(s, 1, to), RLLB_OK);
        n = values_of(mean, mean_values);
        CHECK_EQ_I(n, parameters);
        CHECK_EQ_I(values_of(to, values), n);
        for (i = 0; i < n; i++) moved += values[i] < mean_values[i] || values[i] > mean_values[i];
        CHECK_EQ_I(moved, parameters);
        x = rllb_nn_net_data(to);
        m = rllb_nn_net_data(mean);
        for (i = 0; i < (int64_t)rllb_nn_net_floats(mean); i++) {
            changed += x[i] < m[i] || x[i] > m[i];
            filled += m[i] < 0 || m[i] > 0;
        }
        CHECK_EQ_I(changed, parameters);
        CHECK_EQ_I(filled, parameters);
        rllb_nn_net_destroy(to);
        rllb_nn_search_destroy(s);
    }
}

TEST(candidates_are_mirrored_around_the_mean)
{
    int32_t k, pair;

    for (k = 0; k < SHAPES; k++) {
        rllb_nn_search_desc d = search_desc((shape)k, 5);
        rllb_nn_search *s = rllb_nn_search_create(&d);
        rllb_nn_net *a = rllb_nn_net_create(&d.net), *b = rllb_nn_net_create(&d.net);
        REQUIRE(s && a && b);
        for (pair = 0; pair < 5; pair++) {
            const float *x = rllb_nn_net_data(a), *y = rllb_nn_net_data(b);
            const float *m = rllb_nn_net_data(rllb_nn_search_net(s));
            size_t i, wrong = 0;
            CHECK_EQ_I(rllb_nn_search_candidate(s, 2 * pair, a), RLLB_OK);
            CHECK_EQ_I(rllb_nn_search_candidate(s, 2 * pair + 1, b), RLLB_OK);
            for (i = 0; i < rllb_nn_net_floats(a); i++) { /* each has been rounded once, by half an ulp */
                double off = (double)x[i] + (double)y[i] - 2 * (double)m[i];
                wrong += !(fabs(off) <= ldexp(fabs((double)x[i]) + fabs((double)y[i]), -24));
            }
            CHECK_EQ_U(wrong, 0);
        }
        rllb_nn_net_destroy(a);
        rllb_nn_net_destroy(b);
        rllb_nn_search_destroy(s);
    }
}

/* In any order, any number of times: the same bits. Not in a network of another shape, and only those there are. */
TEST(a_candidate_is_the_same_whenever_it_is_asked_for)
{
    rllb_nn_search_desc d = search_desc(SET, 4);
    rllb_nn_net_desc other_desc = net_desc(PLAIN);
    rllb_nn_search *s = rllb_nn_search_create(&d);
    rllb_nn_net *to = rllb_nn_net_create(&d.net), *again = rllb_nn_net_create(&d.net);
    rllb_nn_net *other = rllb_nn_net_create(&other_desc);
    uint64_t before;
    size_t bytes;

    REQUIRE(s && to && again && other);
    bytes = rllb_nn_net_floats(to) * sizeof(float);
    before = hash_of(s);
    CHECK_EQ_I(rllb_nn_search_candidate(s, 5, to), RLLB_OK);
    CHECK_EQ_I(rllb_nn_search_candidate(s, 0, again), RLLB_OK);
    CHECK(memcmp(rllb_nn_net_data(to), rllb_nn_net_data(again), bytes) != 0);
    CHECK_EQ_I(rllb_nn_search_candidate(s, 5, again), RLLB_OK);
    CHECK_MEM(rllb_nn_net_data(again), rllb_nn_net_data(to), bytes);
    CHECK_EQ_I(rllb_nn_search_candidate(s, 0, other), RLLB_ERROR_SHAPE);
    CHECK_EQ_I(rllb_nn_search_candidate(s, 8, to), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_search_candidate(s, -1, to), RLLB_ERROR_ARGUMENT);
    CHECK_MEM(rllb_nn_net_data(to), rllb_nn_net_data(again), bytes);
    CHECK_EQ_U(hash_of(s), before);
    rllb_nn_net_destroy(to);
    rllb_nn_net_destroy(again);
    rllb_nn_net_destroy(other);
    rllb_nn_search_destroy(s);
}

/* ---- noise --------------------------------------------------------------------------------------------------- */

enum { NOISES = 24, NOISE_MOST = 1100 };

/* Noise of 8 pairs of 3 generations, (candidate - mean) / sigma; the mean is zero, so nothing is lost to rounding.
   Answers how many numbers each has. */
static int32_t collect_noise(float noise[NOISES][NOISE_MOST], uint64_t seed)
{
    rllb_nn_search_desc d = search_desc(LINEAR, 8);
    double equal[16] = { 0 }; /* nobody is better: the mean stays where it is */
    rllb_nn_search *s;
    rllb_nn_net *to;
    int32_t k, n = 0;

    d.net.inputs = 64;
    d.net.outputs = 16;
    d.seed = seed;
    s = rllb_nn_search_create(&d);
    to = rllb_nn_net_create(&d.net);
    if (!s || !to) return 0;
    memset(rllb_nn_net_data(rllb_nn_search_net(s)), 0, rllb_nn_net_floats(to) * sizeof(float));
    for (k = 0; k < NOISES; k++) {
        rllb_nn_search_candidate(s, k % 8 * 2, to);
        n = (int32_t)values_of(to, noise[k]);
        if (k % 8 == 7) rllb_nn_search_update(s, equal, NULL);
    }
    rllb_nn_net_destroy(to);
    rllb_nn_search_destroy(s);
    return n;
}

static double correlation(const float *a, const float *b, int32_t n)
{
    double xx = 0, yy = 0, xy = 0;
    int32_t i;

    for (i = 0; i < n; i++) {
        xx += (double)a[i] * (double)a[i];
        yy += (double)b[i] * (double)b[i];
        xy += (double)a[i] * (double)b[i];
    }
    return xy / sqrt(xx * yy);
}

/* Independent noise has correlations of deviation 1 / sqrt(n). 1,128 of them: chance goes beyond five deviations once
   in 1,500 times, and the seeds are fixed. */
TEST(noise_of_pairs_generations_and_seeds_is_independent)
{
    static float noise[2 * NOISES][NOISE_MOST];
    double worst = 0, sum = 0, squares = 0, count;
    int32_t n = collect_noise(noise, 3), i, k;

    CHECK_EQ_I(collect_noise(noise + NOISES, 4), n);
    CHECK_EQ_I(n, 65 * 16);
    for (i = 0; i < 2 * NOISES; i++) {
        for (k = 0; k < i; k++) worst = fmax(worst, fabs(correlation(noise[i], noise[k], n)));
        for (k = 0; k < n; k++) {
            double z = (double)noise[i][k] / (double)0.05f;
            sum += z;
            squares += z * z;
        }
    }
    count = 2.0 * NOISES * n;
    NOTE("worst correlation %.4f, five deviations %.4f", worst, 5 / sqrt(n));
    CHECK(worst < 5 / sqrt(n));
    CHECK(worst > 1 / sqrt(n)); /* it is chance, after all */
    CHECK_NEAR(sum / count, 0, 5 / sqrt(count));
    CHECK_NEAR(squares / count, 1, 5 * sqrt(2 / count));
}

/* ---- steps --------------------------------------------------------------------------------------------------- */

/* One generation of two pairs by plain gradient descent with rate 1: the mean moves by exactly what utilities, written
   down by hand, and noise say. Centred ranks, from worst -1/2 to best 1/2. */
static void check_step(const double returns[4], const double utility[4], double mean, double best, int32_t lost)
{
    static float before[VALUES], after[VALUES], plus[2][VALUES];
    rllb_nn_search_desc d = search_desc(LINEAR, 2);
    rllb_nn_search_report report;
    rllb_nn_search *s;
    rllb_nn_net *to;
    int64_t n, i;
    int32_t k;

    d.sigma = 0.5f;
    d.opt.kind = RLLB_NN_SGD;
    d.opt.lr.from = 1;
    s = rllb_nn_search_create(&d);
    to = rllb_nn_net_create(&d.net);
    CHECK(s && to);
    if (!s || !to) return;
    n = values_of(rllb_nn_search_net(s), before);
    for (k = 0; k < 2; k++) {
        rllb_nn_search_candidate(s, 2 * k, to);
        values_of(to, plus[k]);
    }
    CHECK_EQ_I(rllb_nn_search_update(s, returns, &report), RLLB_OK);
    CHECK_EQ_I(rllb_nn_search_generations(s), 1);
    CHECK_NEAR(report.mean, mean, 1e-12);
    CHECK_NEAR(report.best, best, 0);
    CHECK_EQ_I(report.lost, lost);
    values_of(rllb_nn_search_net(s), after);
    for (i = 0; i < n; i++) {
        double want = (double)before[i];
        for (k = 0; k < 2; k++) {
            double noise = ((double)plus[k][i] - (double)before[i]) / 0.5;
            want += (utility[2 * k] - utility[2 * k + 1]) * noise / (4 * 0.5);
        }
        CHECK_NEAR(after[i], want, 1e-6);
    }
    rllb_nn_net_destroy(to);
    rllb_nn_search_destroy(s);
}

TEST(steps_follow_the_ranks)
{
    static const double third = 1.0 / 3;
    static const double plain[4] = { 4, -7, 100, 5 }, ranks[4] = { -0.5 + third, -0.5, 0.5, -0.5 + 2 * third };
    static const double tied[4] = { 3, 1, 2, 2 }, shared[4] = { 0.5, -0.5, 0, 0 };
    static const double none[4] = { 1e300, 1e300, 1e300, 1e300 }, equal[4] = { 0, 0, 0, 0 };
    const double broken[4] = { 1, (double)NAN, 2, -HUGE_VAL }, last[4] = { -0.5 + 2 * third, -third, 0.5, -third };
    const double above[4] = { HUGE_VAL, 1, 0, -1 }, still[4] = { -0.5, 0.5, -0.5 + 2 * third, -0.5 + third };

    check_step(plain, ranks, 25.5, 100, 0);
    check_step(tied, shared, 2, 3, 0);
    check_step(broken, last, 1.5, 2, 2);
    check_step(above, still, 0, 1, 1); /* no return is endless */
    check_step(none, equal, 1e300, 1e300, 0);
}

TEST(a_generation_without_a_finite_return_changes_nothing)
{
    rllb_nn_search_desc d = search_desc(PLAIN, 2);
    rllb_nn_search *s = rllb_nn_search_create(&d);
    const double lost[4] = { (double)NAN, HUGE_VAL, -HUGE_VAL, (double)NAN };
    rllb_nn_search_report report;
    uint64_t before;

    REQUIRE(s != NULL);
    before = hash_of(s);
    CHECK_EQ_I(rllb_nn_search_update(s, lost, &report), RLLB_ERROR_EMPTY);
    CHECK_EQ_I(rllb_nn_search_update(s, NULL, &report), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_U(hash_of(s), before);
    CHECK_EQ_I(rllb_nn_search_generations(s), 0);
    rllb_nn_search_destroy(s);
}

/* How far the network is from a linear map of three numbers to two: a quadratic in its parameters. */
static double miss(rllb_nn_net *net, rllb_nn_work *work)
{
    static const float points[4][3] = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 0, 0, 0 } };
    static const double want[4][2] = { { 1, -2 }, { 0.5, 3 }, { -1, 0 }, { 2, 0.25 } };
    double sum = 0;
    int32_t i, k;

    for (i = 0; i < 4; i++) {
        float y[2];
        rllb_nn_forward(net, work, points[i], 1, y);
        for (k = 0; k < 2; k++) sum += ((double)y[k] - want[i][k]) * ((double)y[k] - want[i][k]);
    }
    return sum;
}

TEST(a_quadratic_is_minimised)
{
    rllb_nn_search_desc d = search_desc(LINEAR, 8);
    rllb_nn_search_report report = { 0, 0, 0, 0 };
    double returns[16], first, last, reported = 0;
    rllb_nn_search *s;
    rllb_nn_net *to;
    rllb_nn_work *work;
    int32_t g, k;

    d.opt.lr.curve = RLLB_NN_COSINE;
    d.opt.lr.from = 0.1;
    d.opt.lr.to = 1e-3;
    d.opt.lr.steps = 200;
    s = rllb_nn_search_create(&d);
    to = rllb_nn_net_create(&d.net);
    REQUIRE(s && to);
    work = rllb_nn_work_create(to, 1, false);
    REQUIRE(work != NULL);
    first = miss(rllb_nn_search_net(s), work);
    for (g = 0; g < 200; g++) {
        for (k = 0; k < 16; k++) {
            REQUIRE(rllb_nn_search_candidate(s, k, to) == RLLB_OK);
            returns[k] = -miss(to, work);
        }
        REQUIRE(rllb_nn_search_update(s, returns, &report) == RLLB_OK);
        if (g == 0) reported = report.best;
    }
    last = miss(rllb_nn_search_net(s), work);
    NOTE("from %.3f to %.6f", first, last);
    CHECK(first > 10);
    CHECK(last < 0.005);
    CHECK(report.best > reported && report.best <= 0 && report.best >= report.mean);
    CHECK_EQ_I(rllb_nn_search_generations(s), 200);
    rllb_nn_work_destroy(work);
    rllb_nn_net_destroy(to);
    rllb_nn_search_destroy(s);
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static size_t save(rllb_nn_search *s, unsigned char *to)
{
    rllb_nn_entry entries[RLLB_NN_LEARNER_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_LEARNER_ENTRIES_MAX, 0 };
    size_t size;

    rllb_nn_search_entries(s, &a);
    size = rllb_nn_archive_size(&a, NULL, 0);
    if (size > ROOM || rllb_nn_archive_save(&a, NULL, 0, to, size) != RLLB_OK) return 0;
    return size;
}

static rllb_status load(rllb_nn_search *s, const unsigned char *from, size_t size)
{
    rllb_nn_entry entries[RLLB_NN_LEARNER_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_LEARNER_ENTRIES_MAX, 0 };

    rllb_nn_search_entries(s, &a);
    return rllb_nn_archive_load(&a, from, size, NULL);
}

/* Into a search that began at another mean and has lived, and on: as if nothing had been. */
TEST(a_search_is_taken_up_again_bit_for_bit)
{
    int32_t k;

    for (k = 0; k < SHAPES; k++) {
        rllb_nn_search_desc d = search_desc((shape)k, 3), other_desc = d;
        rllb_nn_search *s = rllb_nn_search_create(&d), *other;
        rllb_nn_net *a = rllb_nn_net_create(&d.net), *b = rllb_nn_net_create(&d.net);
        size_t size;
        NOTE("%s", shape_names[k]);
        other_desc.net.seed = 99;
        other = rllb_nn_search_create(&other_desc);
        REQUIRE(s && other && a && b);
        CHECK_EQ_I(live(s, 4, 1), RLLB_OK);
        size = save(s, file[1]);
        REQUIRE(size > 0);
        CHECK_EQ_I(live(other, 7, 2), RLLB_OK);
        CHECK_EQ_I(load(other, file[1], size), RLLB_OK);
        CHECK_EQ_I(rllb_nn_search_generations(other), 4);
        CHECK_EQ_I(rllb_nn_search_candidate(s, 3, a), RLLB_OK);
        CHECK_EQ_I(rllb_nn_search_candidate(other, 3, b), RLLB_OK);
        CHECK_MEM(rllb_nn_net_data(b), rllb_nn_net_data(a), rllb_nn_net_floats(a) * sizeof(float));
        CHECK_EQ_I(live(s, 5, 3), RLLB_OK);
        CHECK_EQ_I(live(other, 5, 3), RLLB_OK);
        CHECK_EQ_U(save(s, file[1]), size);
        CHECK_EQ_U(save(other, file[2]), size);
        CHECK_MEM(file[2], file[1], size);
        rllb_nn_net_destroy(a);
        rllb_nn_net_destroy(b);
        rllb_nn_search_destroy(s);
        rllb_nn_search_destroy(other);
    }
}

TEST(a_file_that_is_cut_short_or_of_another_search_changes_nothing)
{
    rllb_nn_search_desc d = search_desc(SET, 3), wide = d;
    rllb_nn_search *s = rllb_nn_search_create(&d), *other;
    uint64_t before;
    size_t size, cut;

    wide.net.hidden[0] = 18;
    other = rllb_nn_search_create(&wide);
    REQUIRE(s && other);
    CHECK_EQ_I(live(s, 2, 1), RLLB_OK);
    size = save(s, file[1]);
    REQUIRE(size > 0);
    CHECK_EQ_I(live(s, 2, 2), RLLB_OK);
    before = hash_of(s);
    for (cut = 0; cut < size; cut += 499) CHECK(load(s, file[1], cut) != RLLB_OK);
    CHECK_EQ_U(hash_of(s), before);
    CHECK_EQ_I(rllb_nn_search_generations(s), 4);
    before = hash_of(other);
    CHECK(load(other, file[1], size) != RLLB_OK);
    CHECK_EQ_U(hash_of(other), before);
    rllb_nn_search_destroy(s);
    rllb_nn_search_destroy(other);
}

TEST(seeds_count)
{
    rllb_nn_search_desc d = search_desc(RECURRENT, 3);
    uint64_t hash[4];
    int32_t i;

    for (i = 0; i < 4; i++) { /* twice the same, another noise, another beginning */
        rllb_nn_search *s;
        d.seed = i == 2 ? 4 : 3;
        d.net.seed = i == 3 ? 12 : 11;
        s = rllb_nn_search_create(&d);
        REQUIRE(s != NULL);
        CHECK_EQ_I(live(s, 3, 1), RLLB_OK);
        hash[i] = hash_of(s);
        rllb_nn_search_destroy(s);
    }
    CHECK_EQ_U(hash[1], hash[0]);
    CHECK(hash[2] != hash[0] && hash[3] != hash[0]);
}
