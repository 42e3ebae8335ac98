/* test_rllb.c - the ground floor: each part against a slow, plain statement of what it promises

   Statistical checks use fixed seeds, so they pass always or never. Their bounds are chosen so that a right
   implementation would miss them for about one seed in a million: chi-square is turned into a standard normal
   (Wilson and Hilferty 1931) and must stay below 5. Compiles as C99 and as C++11. */

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The allocator of this program: counts, and fails from the k-th call on when told to. */
static int alloc_calls, alloc_live, alloc_fails_at = -1;

static void *test_alloc(size_t bytes)
{
    if (alloc_calls++ == alloc_fails_at) return NULL;
    alloc_live++;
    return malloc(bytes);
}

static void test_free(void *block)
{
    alloc_live--;
    free(block);
}

#define RLLB_MALLOC(bytes) test_alloc(bytes)
#define RLLB_FREE(pointer) test_free(pointer)
#define RLLB_STATIC
#include "rllb.h"
#include "test.h"

static const double NOT_A_NUMBER = (double)NAN, INFINITE = (double)INFINITY;

/* ---- helpers ----------------------------------------------------------------------------------------------- */

/* Chi-square of counts against expected counts, as a standard normal deviate. */
static double chi_square_z(const double *count, const double *expected, int cells)
{
    double chi = 0, df = cells - 1, c = 2 / (9 * df);
    int i;

    for (i = 0; i < cells; i++) chi += (count[i] - expected[i]) * (count[i] - expected[i]) / expected[i];
    return (pow(chi / df, 1.0 / 3) - (1 - c)) / sqrt(c);
}

static double uniform_z(const double *count, int cells)
{
    double sum = 0, *expected = (double *)malloc((size_t)cells * sizeof *expected), z;
    int i;

    for (i = 0; i < cells; i++) sum += count[i];
    for (i = 0; i < cells; i++) expected[i] = sum / cells;
    z = chi_square_z(count, expected, cells);
    free(expected);
    return z;
}

static int by_double(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static int by_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Quantile by sorting a copy and interpolating: what rllb_quantile and rllb_p2 are held against. */
static double plain_quantile(const double *values, int n, double q)
{
    double *v = (double *)malloc((size_t)n * sizeof *v), at = q * (n - 1), out;
    int low = (int)floor(at);

    memcpy(v, values, (size_t)n * sizeof *v);
    qsort(v, (size_t)n, sizeof *v, by_double);
    out = low + 1 < n ? v[low] * (1 - (at - low)) + v[low + 1] * (at - low) : v[n - 1];
    free(v);
    return out;
}

/* Greatest distance between the empirical and the given distribution of sorted values, times sqrt(n). */
static double kolmogorov_smirnov(double *v, int n, double (*cdf)(double))
{
    double worst = 0;
    int i;

    qsort(v, (size_t)n, sizeof *v, by_double);
    for (i = 0; i < n; i++) {
        double f = cdf(v[i]);
        if (f - (double)i / n > worst) worst = f - (double)i / n;
        if ((double)(i + 1) / n - f > worst) worst = (double)(i + 1) / n - f;
    }
    return worst * sqrt((double)n);
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static double exponential_cdf(double x)
{
    return 1 - exp(-x / 2.5);
}

/* ---- status, log, version ---------------------------------------------------------------------------------- */

TEST(status_names_and_words)
{
    int i, j;

    for (i = 0; i < RLLB_STATUS_NUM; i++) {
        const char *name = rllb_status_name((rllb_status)i), *words = rllb_status_words((rllb_status)i);
        REQUIRE(name && words);
        CHECK(strncmp(name, "RLLB_", 5) == 0 && strlen(name) > 6);
        CHECK(strlen(words) > 1 && strcmp(words, "unknown status") != 0);
        for (j = 0; j < i; j++) {
            CHECK(strcmp(name, rllb_status_name((rllb_status)j)) != 0);
            CHECK(strcmp(words, rllb_status_words((rllb_status)j)) != 0);
        }
    }
    CHECK_EQ_I(RLLB_OK, 0);
    CHECK_STR(rllb_status_name(RLLB_OK), "RLLB_OK");
    CHECK_STR(rllb_status_name(RLLB_ERROR_SHAPE), "RLLB_ERROR_SHAPE");
    CHECK_STR(rllb_status_name(RLLB_STATUS_NUM), "RLLB_?");
    CHECK_STR(rllb_status_words(RLLB_STATUS_NUM), "unknown status");
}

TEST(version)
{
    char text[32];

    snprintf(text, sizeof text, "%d.%d.%d", RLLB_VERSION_MAJOR, RLLB_VERSION_MINOR, RLLB_VERSION_PATCH);
    CHECK_STR(RLLB_VERSION_STRING, text);
    CHECK_EQ_I(rllb_version(), RLLB_VERSION);
    CHECK_EQ_I(RLLB_VERSION, RLLB_VERSION_MAJOR * 10000 + RLLB_VERSION_MINOR * 100 + RLLB_VERSION_PATCH);
}

typedef struct heard {
    int calls;
    rllb_status status;
    char detail[32];
} heard;

static void listen(void *user, rllb_status status, const char *detail)
{
    heard *h = (heard *)user;
    h->calls++;
    h->status = status;
    snprintf(h->detail, sizeof h->detail, "%s", detail);
}

TEST(log_hook)
{
    heard h;
    rllb_logger logger;

    memset(&h, 0, sizeof h);
    logger.fn = listen;
    logger.user = &h;
    rllb_log(&logger, RLLB_ERROR_SHAPE, "dense_1.weight");
    CHECK_EQ_I(h.calls, 1);
    CHECK_EQ_I(h.status, RLLB_ERROR_SHAPE);
    CHECK_STR(h.detail, "dense_1.weight");
    rllb_log(&logger, RLLB_ERROR_EMPTY, NULL);
    CHECK_STR(h.detail, "");
    logger.fn = NULL;
    rllb_log(&logger, RLLB_OK, "silence");
    rllb_log(NULL, RLLB_OK, "silence");
    CHECK_EQ_I(h.calls, 2);
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

typedef struct thing {
    double *a;
    unsigned char *b;
    float *c;
} thing;

static void thing_layout(rllb_carver *c, thing *t)
{
    t->a = (double *)rllb_carve(c, 7, sizeof(double));
    t->b = (unsigned char *)rllb_carve(c, 65, 1);
    t->c = (float *)rllb_carve(c, 3, sizeof(float));
}

TEST(carver_any_address)
{
    static unsigned char memory[4096];
    size_t size, skew, i;
    thing t;

    {
        rllb_carver count = { NULL, 0 };
        thing_layout(&count, &t);
        CHECK(!t.a && !t.b && !t.c);
        size = rllb_carver_size(&count);
    }
    REQUIRE(size + 64 <= sizeof memory);
    for (skew = 0; skew < 64; skew++) {
        rllb_carver c = { NULL, 0 };
        unsigned char *mem = memory + skew;
        memset(memory, 0xa5, skew);
        memset(mem + size, 0xa5, 64);
        REQUIRE(rllb_carver_open(&c, mem, size, size) == RLLB_OK);
        thing_layout(&c, &t);
        CHECK_EQ_I((uintptr_t)t.a % 64, 0);
        CHECK_EQ_I((uintptr_t)t.b % 64, 0);
        CHECK_EQ_I((uintptr_t)t.c % 64, 0);
        CHECK((unsigned char *)t.a >= mem);
        CHECK((unsigned char *)(t.a + 7) <= t.b);
        CHECK(t.b + 65 <= (unsigned char *)t.c);
        CHECK((unsigned char *)(t.c + 3) <= mem + size);
        for (i = 0; i < 7; i++) CHECK(t.a[i] <= 0 && t.a[i] >= 0);
        for (i = 0; i < 65; i++) CHECK_EQ_I(t.b[i], 0);
        memset(t.a, 1, 7 * sizeof(double));
        memset(t.b, 2, 65);
        memset(t.c, 3, 3 * sizeof(float));
        CHECK_EQ_I(((unsigned char *)t.a)[55], 1);
        CHECK_EQ_I(t.b[64], 2);
        for (i = 0; i < skew; i++) CHECK_EQ_I(memory[i], 0xa5);
        for (i = 0; i < 64; i++) CHECK_EQ_I(mem[size + i], 0xa5);
        CHECK_EQ_I(rllb_carver_open(&c, mem, size - 1, size), RLLB_ERROR_MEMORY_SIZE);
        CHECK_EQ_I(rllb_carver_open(&c, mem, size, size), RLLB_OK); /* takes the poison off for the next round */
    }
}

TEST(carver_refuses)
{
    static unsigned char memory[256];
    rllb_carver c = { NULL, 0 };

    CHECK_EQ_I(rllb_carver_open(NULL, memory, 256, 128), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_carver_open(&c, NULL, 256, 128), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_carver_open(&c, memory, 256, 0), RLLB_ERROR_ARGUMENT); /* what a wrong descriptor asks for */
    CHECK_EQ_I(rllb_carver_open(&c, memory, 256, SIZE_MAX), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_carver_open(&c, memory, 256, 257), RLLB_ERROR_MEMORY_SIZE);
}

TEST(carver_overflow)
{
    static const size_t huge[4] = { SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX / 4 };
    static unsigned char memory[256];
    int i, j;

    for (i = 0; i < 4; i++) {
        rllb_carver c = { NULL, 0 };
        CHECK(rllb_carve(&c, huge[i], 8) == NULL);
        CHECK_EQ_U(rllb_carver_size(&c), SIZE_MAX);
        CHECK(rllb_carve(&c, 1, 1) == NULL); /* stays overflowed */
        CHECK_EQ_U(rllb_carver_size(&c), SIZE_MAX);
    }
    for (i = 0; i < 4; i++) { /* parts that only together are too many */
        rllb_carver c = { NULL, 0 };
        for (j = 0; j < 9; j++) rllb_carve(&c, SIZE_MAX / 8, 1);
        CHECK_EQ_U(rllb_carver_size(&c), SIZE_MAX);
    }
    {
        rllb_carver c = { NULL, 0 };
        REQUIRE(rllb_carver_open(&c, memory, sizeof memory, 256) == RLLB_OK);
        CHECK(rllb_carve(&c, SIZE_MAX / 4, 8) == NULL); /* overflow is noticed while laying out, too */
    }
    CHECK(rllb_block_alloc(SIZE_MAX) == NULL);
    CHECK(rllb_block_alloc(0) == NULL);
}

TEST(carver_empty_part)
{
    static unsigned char memory[512];
    rllb_carver count = { NULL, 0 }, c = { NULL, 0 };
    void *empty, *next;

    rllb_carve(&count, 0, 8);
    rllb_carve(&count, 1, 8);
    REQUIRE(rllb_carver_open(&c, memory, sizeof memory, rllb_carver_size(&count)) == RLLB_OK);
    empty = rllb_carve(&c, 0, 8);
    next = rllb_carve(&c, 1, 8);
    CHECK(empty != NULL && next != NULL);
    memset(next, 1, 8);
}

#ifdef RLLB_I_ASAN
/* Runs fn in a child whose complaints are not shown; true if it died. */
static bool dies(void (*fn)(int), int argument)
{
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(0);
        fn(argument);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void overrun(int steps)
{
    static unsigned char memory[2048];
    rllb_carver c = { NULL, 0 };
    volatile float *first;

    if (rllb_carver_open(&c, memory, sizeof memory, 1024) != RLLB_OK) _exit(0);
    first = (float *)rllb_carve(&c, 5, sizeof(float));
    rllb_carve(&c, 5, sizeof(float));
    first[4 + steps] = 1;
}

static void overrun_policy(int steps)
{
    static unsigned char memory[4096];
    float weights[3] = { 1, 2, 3 };
    rllb_policy_desc d;
    rllb_policy *p = NULL;

    rllb_policy_desc_default(&d);
    d.servers = 3;
    d.weights = weights;
    if (rllb_policy_init(&d, memory, sizeof memory, &p) != RLLB_OK) _exit(0);
    ((volatile float *)p->weight)[2 + steps] = 1;
}

TEST(red_zones)
{
    int steps;

    CHECK(!dies(overrun, 0)); /* the last element is ours */
    CHECK(!dies(overrun_policy, 0));
    for (steps = 1; steps <= 16; steps++) CHECK(dies(overrun, steps));
    CHECK(dies(overrun_policy, 1));
}
#endif

/* ---- random numbers ---------------------------------------------------------------------------------------- */

/* xoshiro256++ and SplitMix64 written a second time, from the papers. */
static uint64_t rotated(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t reference_next(uint64_t s[4])
{
    uint64_t result = rotated(s[0] + s[3], 23) + s[0], shifted = s[1] << 17;

    s[2] = s[2] ^ s[0];
    s[3] = s[3] ^ s[1];
    s[1] = s[1] ^ s[2];
    s[0] = s[0] ^ s[3];
    s[2] = s[2] ^ shifted;
    s[3] = rotated(s[3], 45);
    return result;
}

static uint64_t reference_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

TEST(rng_known_answers)
{
    /* The published generator's first outputs from the state 1, 2, 3, 4. */
    static const uint64_t published[6] = { UINT64_C(41943041), UINT64_C(58720359), UINT64_C(3588806011781223),
                                           UINT64_C(3591011842654386), UINT64_C(9228616714210784205),
                                           UINT64_C(9973669472204895162) };
    static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    rllb_rng r = { { 1, 2, 3, 4 } };
    uint64_t s[4] = { 1, 2, 3, 4 }, seed, stream;
    int i;

    for (i = 0; i < 1000; i++) {
        uint64_t got = rllb_rng_u64(&r);
        CHECK_EQ_U(got, reference_next(s));
        if (i < 6) CHECK_EQ_U(got, published[i]);
    }
    CHECK_EQ_U(reference_mix(golden), UINT64_C(0xe220a8397b1dcdaf)); /* SplitMix64's first output from seed 0 */
    for (seed = 0; seed < 20; seed++) {
        for (stream = 0; stream < 20; stream++) {
            uint64_t counter = (seed * golden) ^ reference_mix(stream + golden);
            rllb_rng_init(&r, seed * golden, stream);
            for (i = 0; i < 4; i++) CHECK_EQ_U(r.s[i], reference_mix(counter += golden));
        }
    }
    CHECK_EQ_I(sizeof(rllb_rng), 32);
}

TEST(rng_streams_differ)
{
    enum { SIDE = 256 };
    uint64_t *first = (uint64_t *)malloc(sizeof(uint64_t) * SIDE * SIDE);
    double bits[64] = { 0 }, top[256] = { 0 }, worst = 0;
    int seed, stream, i, same = 0;

    REQUIRE(first);
    for (seed = 0; seed < SIDE; seed++) {
        for (stream = 0; stream < SIDE; stream++) {
            rllb_rng r;
            rllb_rng_init(&r, (uint64_t)seed, (uint64_t)stream);
            first[seed * SIDE + stream] = rllb_rng_u64(&r);
            top[first[seed * SIDE + stream] >> 56]++;
        }
    }
    for (i = 1; i < SIDE * SIDE; i++) { /* neighbouring streams, bit by bit: half of the bits differ */
        uint64_t differ = first[i] ^ first[i - 1];
        int bit;
        for (bit = 0; bit < 64; bit++) bits[bit] += (double)((differ >> bit) & 1);
    }
    for (i = 0; i < 64; i++) {
        double z = fabs(bits[i] - 0.5 * (SIDE * SIDE - 1)) / sqrt(0.25 * (SIDE * SIDE - 1));
        if (z > worst) worst = z;
    }
    NOTE("neighbouring streams: worst bit %.2f standard deviations, first bytes %.2f", worst, uniform_z(top, 256));
    CHECK(worst < 5.5);
    CHECK(fabs(uniform_z(top, 256)) < 5);
    qsort(first, SIDE * SIDE, sizeof *first, by_u64);
    for (i = 1; i < SIDE * SIDE; i++) same += first[i] == first[i - 1];
    CHECK_EQ_I(same, 0);
    free(first);
}

TEST(rng_streams_uncorrelated)
{
    enum { N = 4096, STREAMS = 24 };
    static double x[STREAMS][N];
    double worst = 0;
    int a, b, i, lag;

    for (a = 0; a < STREAMS; a++) {
        rllb_rng r;
        rllb_rng_init(&r, 7, (uint64_t)a);
        for (i = 0; i < N; i++) x[a][i] = (rllb_rng_double(&r) - 0.5) * sqrt(12.0);
    }
    for (a = 0; a < STREAMS; a++) {
        for (b = 0; b <= a; b++) {
            for (lag = a == b; lag < 4; lag++) {
                double sum = 0, z;
                for (i = 0; i + lag < N; i++) sum += x[a][i] * x[b][i + lag];
                z = fabs(sum) / sqrt((double)(N - lag));
                if (z > worst) worst = z;
            }
        }
    }
    NOTE("greatest of 1,176 correlations: %.2f standard deviations", worst);
    CHECK(worst < 5.5 && worst > 2); /* 1,176 draws of a normal: one beyond 2 is certain */
}

TEST(rng_uniform)
{
    enum { N = 200000, CELLS = 100 };
    double floats[CELLS] = { 0 }, doubles[CELLS] = { 0 }, ranged[CELLS] = { 0 };
    rllb_rng r;
    int i;

    rllb_rng_init(&r, 11, 0);
    for (i = 0; i < N; i++) {
        double f = (double)rllb_rng_float(&r), d = rllb_rng_double(&r), g = (double)rllb_rng_range(&r, -2.0f, 3.0f);
        REQUIRE(f >= 0 && f < 1 && d >= 0 && d < 1 && g >= -2 && g <= 3);
        floats[(int)(f * (int)CELLS)]++;
        doubles[(int)(d * (int)CELLS)]++;
        ranged[g < 3 ? (int)((g + 2) / 5 * (int)CELLS) : CELLS - 1]++;
    }
    CHECK(fabs(uniform_z(floats, CELLS)) < 5);
    CHECK(fabs(uniform_z(doubles, CELLS)) < 5);
    CHECK(fabs(uniform_z(ranged, CELLS)) < 5);
    r.s[0] = UINT64_MAX; /* a state whose output is the greatest: still below 1 */
    r.s[3] = 1;
    CHECK_EQ_U(rllb_rng_u64(&r), UINT64_MAX);
    r.s[0] = UINT64_MAX;
    r.s[3] = 1;
    CHECK(rllb_rng_float(&r) < 1);
    r.s[0] = UINT64_MAX;
    r.s[3] = 1;
    CHECK(rllb_rng_double(&r) < 1);
}

TEST(rng_below_has_no_bias)
{
    static const int32_t cells[6] = { 2, 3, 10, 100, 255, 1000 };
    /* Bounds that do not divide 2^32 by far: a plain multiply-and-shift would give some residues 3 chances and
       others 2. */
    static const int32_t steep[2] = { 3 << 29, 5 << 28 };
    static const int32_t residues[2] = { 3, 5 };
    static double count[1000];
    rllb_rng r;
    int k, i;

    rllb_rng_init(&r, 13, 0);
    for (k = 0; k < 6; k++) {
        memset(count, 0, sizeof count);
        for (i = 0; i < 100000; i++) {
            int32_t v = rllb_rng_below(&r, cells[k]);
            REQUIRE(v >= 0 && v < cells[k]);
            count[v]++;
        }
        NOTE("below(%d): %.2f", cells[k], uniform_z(count, cells[k]));
        CHECK(fabs(uniform_z(count, cells[k])) < 5);
    }
    for (k = 0; k < 2; k++) {
        memset(count, 0, sizeof count);
        for (i = 0; i < 100000; i++) {
            int32_t v = rllb_rng_below(&r, steep[k]);
            REQUIRE(v >= 0 && v < steep[k]);
            count[v % residues[k]]++;
        }
        NOTE("below(%d) by residue: %.2f", steep[k], uniform_z(count, residues[k]));
        CHECK(uniform_z(count, residues[k]) < 5);
    }
    for (i = 0; i < 1000; i++) {
        int32_t v = rllb_rng_below(&r, INT32_MAX);
        CHECK(v >= 0 && v < INT32_MAX);
    }
    CHECK_EQ_I(rllb_rng_below(&r, 1), 0);
    CHECK_EQ_I(rllb_rng_below(&r, 0), 0);
    CHECK_EQ_I(rllb_rng_below(&r, -5), 0);
    CHECK_EQ_I(rllb_rng_below(&r, INT32_MIN), 0);
}

TEST(rng_distributions)
{
    enum { N = 50000 };
    static double v[N];
    rllb_stats s;
    double d;
    rllb_rng r;
    int i;

    memset(&s, 0, sizeof s);
    rllb_rng_init(&r, 17, 0);
    for (i = 0; i < N; i++) rllb_stats_add(&s, v[i] = rllb_rng_normal(&r));
    d = kolmogorov_smirnov(v, N, normal_cdf);
    NOTE("normal: D sqrt(n) = %.3f, mean %.4f, deviation %.4f", d, s.mean, rllb_stats_stddev(&s));
    CHECK(d < 2.2); /* beyond 2.2 in 1 of 8,000 */
    CHECK_NEAR(s.mean, 0, 5 / sqrt((double)N));
    CHECK_NEAR(rllb_stats_stddev(&s), 1, 5 / sqrt(2.0 * (int)N));
    memset(&s, 0, sizeof s);
    for (i = 0; i < N; i++) rllb_stats_add(&s, v[i] = rllb_rng_exponential(&r, 2.5));
    d = kolmogorov_smirnov(v, N, exponential_cdf);
    NOTE("exponential: D sqrt(n) = %.3f, mean %.4f", d, s.mean);
    CHECK(d < 2.2);
    CHECK(s.least >= 0);
    CHECK_NEAR(s.mean, 2.5, 5 * 2.5 / sqrt((double)N));
}

/* ---- statistics -------------------------------------------------------------------------------------------- */

TEST(stats_against_two_passes)
{
    static const double offset[4] = { 0, 1, -1e6, 1e9 };
    static double v[5000];
    rllb_rng r;
    int k, n, i;

    rllb_rng_init(&r, 19, 0);
    for (k = 0; k < 4; k++) {
        for (n = 1; n <= 5000; n = n * 3 + 1) {
            double mean = 0, squares = 0, least = INFINITE, greatest = -INFINITE;
            rllb_stats s;
            memset(&s, 0, sizeof s);
            for (i = 0; i < n; i++) {
                v[i] = offset[k] + rllb_rng_normal(&r);
                mean += (v[i] - offset[k]) / n;
                if (v[i] < least) least = v[i];
                if (v[i] > greatest) greatest = v[i];
                rllb_stats_add(&s, v[i]);
            }
            mean += offset[k];
            for (i = 0; i < n; i++) squares += (v[i] - mean) * (v[i] - mean);
            CHECK_EQ_I(s.count, n);
            CHECK_REL(s.mean, mean, 1e-13);
            CHECK_NEAR(rllb_stats_stddev(&s), n < 2 ? 0 : sqrt(squares / (n - 1)), 1e-6);
            CHECK_NEAR(s.least, least, 0);
            CHECK_NEAR(s.greatest, greatest, 0);
        }
    }
}

TEST(stats_hand_computed)
{
    static const double v[8] = { 2, 4, 4, 4, 5, 5, 7, 9 };
    rllb_stats s;
    int i;

    memset(&s, 0, sizeof s);
    CHECK_NEAR(rllb_stats_stddev(&s), 0, 0);
    CHECK_NEAR(rllb_stats_ci95(&s), 0, 0);
    for (i = 0; i < 8; i++) {
        rllb_stats_add(&s, v[i]);
        if (i == 0) CHECK_NEAR(rllb_stats_stddev(&s) + rllb_stats_ci95(&s), 0, 0);
    }
    CHECK_NEAR(s.mean, 5, 1e-15);
    CHECK_NEAR(rllb_stats_stddev(&s), sqrt(32.0 / 7), 1e-14);
    CHECK_NEAR(rllb_stats_ci95(&s), 2.364624 * sqrt(32.0 / 7) / sqrt(8.0), 1e-6);
    rllb_stats_add(&s, NOT_A_NUMBER);
    rllb_stats_add(&s, INFINITE);
    rllb_stats_add(&s, -INFINITE);
    CHECK_EQ_I(s.refused, 3);
    CHECK_EQ_I(s.count, 8);
    CHECK_NEAR(s.mean, 5, 1e-15);
}

TEST(stats_merge_equals_all)
{
    rllb_rng r;
    int round;

    rllb_rng_init(&r, 23, 0);
    for (round = 0; round < 200; round++) {
        rllb_stats part[4], all, sum;
        int i, n = rllb_rng_below(&r, 60);
        memset(part, 0, sizeof part);
        memset(&all, 0, sizeof all);
        memset(&sum, 0, sizeof sum);
        for (i = 0; i < n; i++) { /* parts may stay empty */
            double v = rllb_rng_below(&r, 20) == 0 ? NOT_A_NUMBER : 100 + rllb_rng_normal(&r);
            rllb_stats_add(&part[rllb_rng_below(&r, 4)], v);
            rllb_stats_add(&all, v);
        }
        for (i = 0; i < 4; i++) rllb_stats_merge(&sum, &part[i]);
        CHECK_EQ_I(sum.count, all.count);
        CHECK_EQ_I(sum.refused, all.refused);
        CHECK_REL(sum.mean, all.mean, 1e-13);
        CHECK_NEAR(sum.m2, all.m2, 1e-9);
        CHECK_NEAR(sum.least, all.least, 0);
        CHECK_NEAR(sum.greatest, all.greatest, 0);
    }
}

TEST(t_quantile_table)
{
    /* 97.5 % quantiles of Student's t from the usual tables, six decimals. */
    static const struct {
        int64_t df;
        double t;
    } table[] = { { 1, 12.706205 }, { 2, 4.302653 },  { 3, 3.182446 },  { 4, 2.776445 },   { 5, 2.570582 },
                  { 6, 2.446912 },  { 7, 2.364624 },  { 8, 2.306004 },  { 9, 2.262157 },   { 10, 2.228139 },
                  { 20, 2.085963 }, { 30, 2.042272 }, { 60, 2.000298 }, { 100, 1.983972 }, { 1000, 1.962339 } };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        NOTE("df %d", (int)table[i].df);
        CHECK_NEAR(rllb_i_t975(table[i].df), table[i].t, table[i].df < 9 ? 1e-6 : 2e-5);
    }
    CHECK_NEAR(rllb_i_t975(1000000000), 1.959964, 1e-6);
}

TEST(decay_against_plain_sum)
{
    double value[200], at[200];
    rllb_rng r;
    int round, i, j;

    rllb_rng_init(&r, 29, 0);
    for (round = 0; round < 50; round++) {
        rllb_decay d;
        double now = 100 * rllb_rng_normal(&r);
        memset(&d, 0, sizeof d);
        d.half_life_s = exp(rllb_rng_normal(&r));
        CHECK_NEAR(rllb_decay_mean(&d), 0, 0);
        for (i = 0; i < 200; i++) {
            double sum = 0, weight = 0;
            if (rllb_rng_below(&r, 4)) now += rllb_rng_exponential(&r, 0.3); /* some at the same time */
            value[i] = rllb_rng_normal(&r);
            at[i] = now;
            rllb_decay_add(&d, value[i], now);
            for (j = 0; j <= i; j++) {
                double w = pow(0.5, (now - at[j]) / d.half_life_s);
                sum += w * value[j];
                weight += w;
            }
            CHECK_NEAR(rllb_decay_mean(&d), sum / weight, 1e-11);
        }
    }
}

TEST(decay_edges)
{
    rllb_decay d;

    memset(&d, 0, sizeof d);
    d.half_life_s = 1;
    rllb_decay_add(&d, 1, 10);
    rllb_decay_add(&d, 4, 11); /* the 1 counts half */
    CHECK_NEAR(rllb_decay_mean(&d), (0.5 * 1 + 4) / 1.5, 1e-15);
    rllb_decay_add(&d, 10, 5); /* backwards: as if no time had passed */
    CHECK_NEAR(rllb_decay_mean(&d), (0.5 * 1 + 4 + 10) / 2.5, 1e-15);
    rllb_decay_add(&d, NOT_A_NUMBER, 12);
    rllb_decay_add(&d, 1, NOT_A_NUMBER);
    rllb_decay_add(&d, 1, INFINITE);
    CHECK_NEAR(rllb_decay_mean(&d), (0.5 * 1 + 4 + 10) / 2.5, 1e-15);
    rllb_decay_add(&d, 3, 1e9); /* all else forgotten */
    CHECK_NEAR(rllb_decay_mean(&d), 3, 1e-15);
    memset(&d, 0, sizeof d); /* no half life: nothing is ever forgotten */
    rllb_decay_add(&d, 1, 0);
    rllb_decay_add(&d, 2, 1e6);
    CHECK_NEAR(rllb_decay_mean(&d), 1.5, 1e-15);
}

TEST(p2_against_exact)
{
    enum { N = 20000 };
    static const double q[6] = { 0.05, 0.25, 0.5, 0.9, 0.95, 0.99 };
    static const char *const shape[4] = { "uniform", "normal", "exponential", "rising" };
    static double v[N];
    int kind, k, i;

    for (kind = 0; kind < 4; kind++) {
        for (k = 0; k < 6; k++) {
            double got, lower, upper;
            rllb_rng r;
            rllb_p2 p;
            rllb_rng_init(&r, 31, (uint64_t)kind);
            rllb_p2_init(&p, q[k]);
            for (i = 0; i < N; i++) {
                v[i] = kind == 0 ? rllb_rng_double(&r) : kind == 1 ? rllb_rng_normal(&r) :
                       kind == 2 ? rllb_rng_exponential(&r, 1) : (double)i;
                rllb_p2_add(&p, v[i]);
            }
            got = rllb_p2_query(&p);
            lower = plain_quantile(v, N, q[k] - 0.005);
            upper = plain_quantile(v, N, q[k] + 0.005 < 1 ? q[k] + 0.005 : 1);
            NOTE("%s, q %.2f: %.5f, exact %.5f", shape[kind], q[k], got, plain_quantile(v, N, q[k]));
            CHECK(got >= lower && got <= upper); /* within half a percent of rank */
            CHECK_EQ_I(p.count, N);
        }
    }
}

TEST(p2_edges)
{
    static const double q[5] = { 0, 0.1, 0.5, 0.77, 1 };
    double v[1000];
    rllb_rng r;
    rllb_p2 p;
    int round, k, i;

    rllb_rng_init(&r, 37, 0);
    for (round = 0; round < 100; round++) {
        for (k = 0; k < 5; k++) {
            rllb_p2_init(&p, q[k]);
            CHECK_NEAR(rllb_p2_query(&p), 0, 0);
            for (i = 0; i < 5; i++) {
                v[i] = (double)rllb_rng_below(&r, 7); /* ties */
                rllb_p2_add(&p, v[i]);
                rllb_p2_add(&p, NOT_A_NUMBER);
                rllb_p2_add(&p, -INFINITE);
                CHECK_EQ_I(p.count, i + 1);
                CHECK_NEAR(rllb_p2_query(&p), plain_quantile(v, i + 1, q[k]), 1e-12);
            }
        }
    }
    for (k = 0; k < 5; k += 4) { /* the ends are exact at any length */
        rllb_p2_init(&p, q[k]);
        for (i = 0; i < 1000; i++) rllb_p2_add(&p, v[i] = rllb_rng_normal(&r));
        CHECK_NEAR(rllb_p2_query(&p), plain_quantile(v, 1000, q[k]), 0);
    }
    rllb_p2_init(&p, 0.9);
    for (i = 0; i < 1000; i++) rllb_p2_add(&p, 3.25);
    CHECK_NEAR(rllb_p2_query(&p), 3.25, 0);
    rllb_p2_init(&p, -1);
    CHECK_NEAR(p.q, 0, 0);
    rllb_p2_init(&p, 2);
    CHECK_NEAR(p.q, 1, 0);
    rllb_p2_init(&p, NOT_A_NUMBER);
    CHECK_NEAR(p.q, 0, 0);
}

TEST(quantile_against_sorting)
{
    static const double q[9] = { 0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1 };
    float values[300];
    double copy[300];
    rllb_rng r;
    int round, n, i, k;

    rllb_rng_init(&r, 41, 0);
    for (round = 0; round < 3000; round++) {
        n = round < 600 ? 1 + round / 100 : 1 + rllb_rng_below(&r, 300);
        for (k = 0; k < 9; k++) {
            int shape = rllb_rng_below(&r, 4);
            double sum = 0, after = 0;
            for (i = 0; i < n; i++) {
                values[i] = shape == 0 ? (float)rllb_rng_below(&r, 4) : shape == 1 ? (float)i :
                            shape == 2 ? (float)(n - i) : (float)rllb_rng_normal(&r);
                copy[i] = (double)values[i];
                sum += copy[i];
            }
            CHECK_REL(rllb_quantile(values, n, q[k]), plain_quantile(copy, n, q[k]), 1e-6);
            for (i = 0; i < n; i++) after += (double)values[i];
            CHECK_NEAR(after, sum, 1e-4); /* reordered, nothing lost */
        }
    }
    values[0] = 7;
    values[1] = 9;
    CHECK_NEAR(rllb_quantile(values, 1, 0.3), 7, 0);
    CHECK_NEAR(rllb_quantile(values, 2, 0.25), 7.5, 0);
    CHECK_NEAR(rllb_quantile(values, 2, 7), 9, 0);
    CHECK_NEAR(rllb_quantile(values, 2, -7), 7, 0);
    CHECK_NEAR(rllb_quantile(values, 2, NOT_A_NUMBER), 7, 0);
    CHECK_NEAR(rllb_quantile(values, 0, 0.5), 0, 0);
    CHECK_NEAR(rllb_quantile(NULL, 3, 0.5), 0, 0);
    for (i = 0; i < 300; i++) values[i] = i % 3 ? (float)i : NAN; /* must end, and inside the array */
    rllb_quantile(values, 300, 0.5);
}

/* ---- fairness ---------------------------------------------------------------------------------------------- */

TEST(fairness_hand_computed)
{
    static const float a[3] = { 1, 2, 3 }, b[3] = { 1, 2, 4 }, zeros[4] = { 0, 0, 0, 0 }, even[4] = { 2, 2, 2, 2 };
    static const float lone[4] = { 0, 0, 5, 0 }, single[1] = { 8 }, halves[2] = { 1, 2 };

    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_JAIN, a, 3), 36.0 / 42, 1e-15);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_PRODUCT, b, 3), 0.125, 1e-15);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_SINE, halves, 2), sqrt(0.5), 1e-15);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_VARIANCE, a, 3), -2.0 / 3, 1e-15);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_LOG_VARIANCE, a, 3), -log(2.0 / 3 + 1e-6), 1e-14);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_JAIN, lone, 4), 0.25, 1e-15);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_PRODUCT, lone, 4), 0, 0);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_SINE, lone, 4), 0, 0);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_VARIANCE, lone, 4), -75.0 / 16, 1e-14);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_MAX, b, 3), -4, 0);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_MAX, zeros, 4), 0, 0);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_MAX, single, 1), -8, 0);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_VARIANCE_BOTH, a, 3), -2.0 / 3 - log(2.0 / 3 + 1e-6), 1e-14);
    CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_VARIANCE_BOTH, even, 4), 13.815510557964274, 1e-12);
    {
        const float *fair[3] = { zeros, even, single };
        static const int32_t n[3] = { 4, 4, 1 };
        int i;
        for (i = 0; i < 3; i++) {
            CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_JAIN, fair[i], n[i]), 1, 1e-15);
            CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_PRODUCT, fair[i], n[i]), 1, 1e-15);
            CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_SINE, fair[i], n[i]), 1, 1e-15);
            CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_VARIANCE, fair[i], n[i]), 0, 0);
            CHECK_NEAR(rllb_fairness(RLLB_FAIRNESS_LOG_VARIANCE, fair[i], n[i]), 13.815510557964274, 1e-12);
        }
    }
}

TEST(fairness_refuses)
{
    static const float negative[2] = { 1, -1 }, ones[2] = { 1, 1 };
    float bad[2] = { 1, NAN };
    int k;

    for (k = 0; k < RLLB_FAIRNESS_NUM; k++) {
        rllb_fairness_kind kind = (rllb_fairness_kind)k;
        CHECK(isnan(rllb_fairness(kind, negative, 2)));
        bad[1] = NAN;
        CHECK(isnan(rllb_fairness(kind, bad, 2)));
        bad[1] = INFINITY;
        CHECK(isnan(rllb_fairness(kind, bad, 2)));
        CHECK(isnan(rllb_fairness(kind, ones, 0)));
        CHECK(isnan(rllb_fairness(kind, ones, -3)));
        CHECK(isnan(rllb_fairness(kind, NULL, 2)));
        CHECK(!isnan(rllb_fairness(kind, ones, 2)));
    }
    CHECK(isnan(rllb_fairness(RLLB_FAIRNESS_NUM, ones, 2)));
}

TEST(fairness_properties)
{
    float v[40], scaled[40], turned[40];
    rllb_rng r;
    int round, i, k;

    rllb_rng_init(&r, 43, 0);
    for (round = 0; round < 2000; round++) {
        int n = 1 + rllb_rng_below(&r, 40);
        double jain, least;
        for (i = 0; i < n; i++) {
            v[i] = rllb_rng_below(&r, 5) ? rllb_rng_float(&r) : 0;
            scaled[i] = v[i] * 1024;
        }
        for (i = 0; i < n; i++) turned[i] = v[n - 1 - i];
        jain = rllb_fairness(RLLB_FAIRNESS_JAIN, v, n);
        least = 1.0 / n;
        CHECK(jain >= least - 1e-12 && jain <= 1 + 1e-12);
        for (k = 0; k < RLLB_FAIRNESS_NUM; k++) {
            rllb_fairness_kind kind = (rllb_fairness_kind)k;
            double index = rllb_fairness(kind, v, n);
            CHECK_REL(rllb_fairness(kind, turned, n), index, 1e-12); /* who is who does not matter, */
            if (kind <= RLLB_FAIRNESS_SINE) CHECK_NEAR(rllb_fairness(kind, scaled, n), index, 1e-12); /* nor the unit */
        }
        CHECK(rllb_fairness(RLLB_FAIRNESS_SINE, v, n) >= rllb_fairness(RLLB_FAIRNESS_PRODUCT, v, n) - 1e-12);
    }
}

/* ---- policies ---------------------------------------------------------------------------------------------- */

static rllb_policy *make(rllb_policy_kind kind, int32_t servers, const float *weights, float work, uint64_t seed)
{
    rllb_policy_desc d;

    rllb_policy_desc_default(&d);
    d.kind = kind;
    d.servers = servers;
    d.weights = weights;
    d.work = work;
    d.seed = seed;
    return rllb_policy_create(&d);
}

TEST(policy_round_robin)
{
    int32_t n, i;

    for (n = 1; n <= 9; n++) {
        rllb_policy *p = make(RLLB_POLICY_ROUND_ROBIN, n, NULL, 0, 0);
        REQUIRE(p);
        for (i = 0; i < 4 * n + 1; i++) CHECK_EQ_I(rllb_policy_choose(p, NULL), i % n);
        rllb_policy_reset(p);
        CHECK_EQ_I(rllb_policy_choose(p, NULL), 0);
        rllb_policy_destroy(p);
    }
}

/* Smooth weighted round robin as it is told: all gain their weight, the richest serves and pays the sum. Whole
   weights, whole arithmetic. */
TEST(policy_weighted_round_robin)
{
    static const float classic[3] = { 5, 1, 1 };
    static const int32_t expected[7] = { 0, 0, 1, 0, 2, 0, 0 };
    rllb_policy *p = make(RLLB_POLICY_WEIGHTED_ROUND_ROBIN, 3, classic, 0, 0);
    rllb_rng r;
    int32_t i, round;

    REQUIRE(p);
    for (i = 0; i < 21; i++) CHECK_EQ_I(rllb_policy_choose(p, NULL), expected[i % 7]);
    rllb_policy_destroy(p);

    rllb_rng_init(&r, 47, 0);
    for (round = 0; round < 100; round++) {
        int32_t n = 1 + rllb_rng_below(&r, 12), total = 0, credit[12] = { 0 }, served[12] = { 0 }, step;
        float weight[12];
        for (i = 0; i < n; i++) {
            weight[i] = (float)(1 + rllb_rng_below(&r, 20));
            total += (int32_t)weight[i];
        }
        p = make(RLLB_POLICY_WEIGHTED_ROUND_ROBIN, n, weight, 0, 0);
        REQUIRE(p);
        for (step = 0; step < 3 * total; step++) {
            int32_t best = 0, got = rllb_policy_choose(p, NULL);
            for (i = 0; i < n; i++) credit[i] += (int32_t)weight[i];
            for (i = 1; i < n; i++) {
                if (credit[i] > credit[best]) best = i;
            }
            credit[best] -= total;
            served[best]++;
            CHECK_EQ_I(got, best);
            for (i = 0; i < n && (step + 1) % total == 0; i++) { /* exact shares at the end of each round */
                CHECK_EQ_I(served[i], (step + 1) / total * (int32_t)weight[i]);
            }
        }
        rllb_policy_destroy(p);
    }
}

/* Shares of weights that no float holds exactly stay right in the long run. */
TEST(policy_weighted_round_robin_long)
{
    static const float weight[4] = { 0.1f, 0.2f, 0.3f, 0.7f };
    rllb_policy *p = make(RLLB_POLICY_WEIGHTED_ROUND_ROBIN, 4, weight, 0, 0);
    double served[4] = { 0 };
    int i, n = 1300000;

    REQUIRE(p);
    for (i = 0; i < n; i++) served[rllb_policy_choose(p, NULL)]++;
    for (i = 0; i < 4; i++) CHECK_NEAR(served[i], n * (double)weight[i] / 1.3, 2);
    rllb_policy_destroy(p);
}

/* argmin, ties to the lowest index, NaN only if there is nothing else. */
static int32_t plain_argmin(const double *cost, int32_t n)
{
    int32_t i, best = -1;

    for (i = 0; i < n; i++) {
        if (!isnan(cost[i]) && (best < 0 || cost[i] < cost[best])) best = i;
    }
    return best < 0 ? 0 : best;
}

TEST(policies_that_look_at_loads)
{
    static const rllb_policy_kind kinds[3] = { RLLB_POLICY_LEAST_LOAD, RLLB_POLICY_SED, RLLB_POLICY_LEAST_LOAD_AHEAD };
    rllb_rng r;
    int round, k, trial;

    rllb_rng_init(&r, 53, 0);
    for (round = 0; round < 600; round++) {
        int32_t n = 1 + rllb_rng_below(&r, 16), i;
        float weight[16], load[16], work = rllb_rng_below(&r, 2) ? 0 : 0.25f * (float)(1 + rllb_rng_below(&r, 8));
        bool weighted = rllb_rng_below(&r, 3) > 0;
        rllb_policy *p;
        k = round % 3;
        for (i = 0; i < n; i++) weight[i] = 0.25f * (float)(1 + rllb_rng_below(&r, 8));
        p = make(kinds[k], n, weighted ? weight : NULL, work, 0);
        REQUIRE(p);
        for (trial = 0; trial < 20; trial++) {
            double cost[16];
            for (i = 0; i < n; i++) {
                double w = weighted ? (double)weight[i] : 1, l;
                switch (rllb_rng_below(&r, 12)) {
                case 0: load[i] = NAN; break;
                case 1: load[i] = INFINITY; break;
                case 2: load[i] = 0; break;
                default: load[i] = 0.5f * (float)rllb_rng_below(&r, 9); break; /* ties, all steps exact */
                }
                l = (double)load[i];
                cost[i] = kinds[k] == RLLB_POLICY_LEAST_LOAD ? l :
                          kinds[k] == RLLB_POLICY_SED ? (double)(float)((l + (work > 0 ? (double)work : 1)) / w) :
                          l - w;
            }
            CHECK_EQ_I(rllb_policy_choose(p, load), plain_argmin(cost, n));
        }
        rllb_policy_destroy(p);
    }
}

TEST(policies_and_loads_that_are_no_numbers)
{
    static const float nans[3] = { NAN, NAN, NAN }, full[3] = { NAN, INFINITY, NAN }, low[3] = { 1, -INFINITY, 0 };
    static const float huge[3] = { NAN, 3e38f, 3.4e38f };
    static const float tiny[3] = { 1e-3f, 1e-3f, 1e-3f }; /* SED: load / weight overflows */
    int kind;

    for (kind = 0; kind < RLLB_POLICY_NUM; kind++) {
        rllb_policy *p = make((rllb_policy_kind)kind, 3, tiny, 0, 3);
        int32_t got;
        REQUIRE(p);
        got = rllb_policy_choose(p, nans);
        CHECK(got >= 0 && got < 3);
        got = rllb_policy_choose(p, NULL);
        CHECK(got >= 0 && got < 3);
        if (kind == RLLB_POLICY_LEAST_LOAD || kind == RLLB_POLICY_SED || kind == RLLB_POLICY_LEAST_LOAD_AHEAD) {
            CHECK_EQ_I(rllb_policy_choose(p, full), 1);
            CHECK_EQ_I(rllb_policy_choose(p, huge), 1);
            CHECK_EQ_I(rllb_policy_choose(p, low), 1);
        }
        rllb_policy_destroy(p);
    }
}

TEST(policy_alias_table_is_exact)
{
    enum { MOST = 1000 };
    static float weight[MOST];
    static double chance[MOST];
    rllb_rng r;
    int round, i;
    double worst = 0;

    rllb_rng_init(&r, 59, 0);
    for (round = 0; round < 400; round++) {
        int32_t n = round < 40 ? 1 + round / 4 : 1 + rllb_rng_below(&r, MOST);
        int shape = rllb_rng_below(&r, 4);
        double total = 0;
        rllb_policy *p;
        for (i = 0; i < n; i++) {
            weight[i] = shape == 0 ? rllb_rng_float(&r) + 1e-6f : shape == 1 ? (float)(1 + rllb_rng_below(&r, 3)) :
                        shape == 2 ? (float)exp(20 * rllb_rng_normal(&r)) : (i == n / 2 ? 1000.0f : 0.001f);
            total += (double)weight[i];
        }
        p = make(RLLB_POLICY_WEIGHTED_RANDOM, n, weight, 0, 0);
        REQUIRE(p);
        memset(chance, 0, sizeof chance);
        for (i = 0; i < n; i++) {
            double keep = (double)p->keep[i];
            REQUIRE(p->instead[i] >= 0 && p->instead[i] < n);
            CHECK(keep >= 0 && keep <= 1);
            chance[i] += keep / n;
            chance[p->instead[i]] += (1 - keep) / n;
        }
        for (i = 0; i < n; i++) {
            double off = fabs(chance[i] - (double)weight[i] / total);
            if (off > worst) worst = off;
        }
        rllb_policy_destroy(p);
    }
    NOTE("greatest error of a probability: %.2g", worst);
    CHECK(worst < 1e-7);
}

TEST(policy_random_shares)
{
    static const float weight[5] = { 1, 2, 3, 4, 10 };
    double uniform[7] = { 0 }, weighted[5] = { 0 }, expected[5];
    rllb_policy *p = make(RLLB_POLICY_RANDOM, 7, NULL, 0, 5), *w = make(RLLB_POLICY_WEIGHTED_RANDOM, 5, weight, 0, 5);
    int i, n = 200000;

    REQUIRE(p && w);
    for (i = 0; i < n; i++) {
        uniform[rllb_policy_choose(p, NULL)]++;
        weighted[rllb_policy_choose(w, NULL)]++;
    }
    for (i = 0; i < 5; i++) expected[i] = n * (double)weight[i] / 20;
    NOTE("random %.2f, weighted random %.2f", uniform_z(uniform, 7), chi_square_z(weighted, expected, 5));
    CHECK(fabs(uniform_z(uniform, 7)) < 5);
    CHECK(fabs(chi_square_z(weighted, expected, 5)) < 5);
    rllb_policy_destroy(p);
    rllb_policy_destroy(w);
}

TEST(policy_reset_and_seeds)
{
    static const float weight[4] = { 1, 5, 2, 3 }, load[4] = { 0.5f, 0.25f, 0.75f, 0.125f };
    int kind, i;

    for (kind = 0; kind < RLLB_POLICY_NUM; kind++) {
        rllb_policy *p = make((rllb_policy_kind)kind, 4, weight, 0, 9);
        rllb_policy *same = make((rllb_policy_kind)kind, 4, weight, 0, 9);
        rllb_policy *other = make((rllb_policy_kind)kind, 4, weight, 0, 10);
        int32_t first[64];
        int differ = 0;
        REQUIRE(p && same && other);
        for (i = 0; i < 64; i++) {
            first[i] = rllb_policy_choose(p, load);
            CHECK_EQ_I(rllb_policy_choose(same, load), first[i]);
            differ += rllb_policy_choose(other, load) != first[i];
        }
        CHECK_EQ_I(differ > 0, kind == RLLB_POLICY_RANDOM || kind == RLLB_POLICY_WEIGHTED_RANDOM);
        rllb_policy_reset(p);
        for (i = 0; i < 64; i++) CHECK_EQ_I(rllb_policy_choose(p, load), first[i]);
        rllb_policy_destroy(p);
        rllb_policy_destroy(same);
        rllb_policy_destroy(other);
    }
}

TEST(policy_names)
{
    int i;

    for (i = 0; i < RLLB_POLICY_NUM; i++) {
        const char *name = rllb_policy_name((rllb_policy_kind)i);
        REQUIRE(name);
        CHECK_EQ_I(rllb_policy_kind_of(name), i);
    }
    CHECK_STR(rllb_policy_name(RLLB_POLICY_LEAST_LOAD), "least_load");
    CHECK_STR(rllb_policy_name(RLLB_POLICY_NUM), NULL);
    CHECK_EQ_I(rllb_policy_kind_of("least_loa"), -1);
    CHECK_EQ_I(rllb_policy_kind_of("LEAST_LOAD"), -1);
    CHECK_EQ_I(rllb_policy_kind_of(""), -1);
    CHECK_EQ_I(rllb_policy_kind_of(NULL), -1);
}

/* One wrong field at a time; *out must stay what it was. */
TEST(policy_wrong_descriptors)
{
    static unsigned char memory[8192];
    static const float bad[5] = { 0, -1, NAN, INFINITY, -INFINITY };
    rllb_policy *const untouched = (rllb_policy *)(void *)memory;
    rllb_policy *out = untouched;
    rllb_policy_desc good, d;
    float weight[3] = { 1, 2, 3 };
    int i;

    rllb_policy_desc_default(&good);
    CHECK_EQ_I(rllb_policy_size(&good), 0); /* servers has no default */
    good.servers = 3;
    good.weights = weight;
    REQUIRE(rllb_policy_size(&good) > 0 && rllb_policy_size(&good) <= sizeof memory);
#define REFUSED(descriptor)                                                                        \
    CHECK_EQ_I(rllb_policy_size(descriptor), 0);                                                   \
    CHECK_EQ_I(rllb_policy_init(descriptor, memory, sizeof memory, &out), RLLB_ERROR_ARGUMENT);    \
    CHECK(out == untouched);                                                                       \
    CHECK(rllb_policy_create(descriptor) == NULL)
    REFUSED(NULL);
    d = good;
    d.servers = 0;
    REFUSED(&d);
    d.servers = -1;
    REFUSED(&d);
    d.servers = RLLB_POLICY_SERVERS_MAX + 1;
    d.weights = NULL;
    REFUSED(&d);
    d = good;
    d.kind = RLLB_POLICY_NUM;
    REFUSED(&d);
    for (i = 0; i < 5; i++) {
        d = good;
        weight[2] = bad[i];
        REFUSED(&d);
        weight[2] = 3;
        d.work = bad[i];
        if (i > 0) {
            REFUSED(&d);
        }
    }
    CHECK_EQ_I(rllb_policy_init(&good, memory, sizeof memory, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_policy_init(&good, NULL, sizeof memory, &out), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_policy_init(&good, memory, rllb_policy_size(&good) - 1, &out), RLLB_ERROR_MEMORY_SIZE);
    CHECK_EQ_I(rllb_policy_init(&good, memory, 0, &out), RLLB_ERROR_MEMORY_SIZE);
    CHECK(out == untouched);
    CHECK_EQ_I(rllb_policy_init(&good, memory, rllb_policy_size(&good), &out), RLLB_OK);
    CHECK(out != NULL && out != (rllb_policy *)NULL);
}

TEST(policy_any_address_and_most_servers)
{
    static const float load[3] = { 3, 1, 2 };
    unsigned char *memory;
    rllb_policy_desc d;
    rllb_policy *p = NULL;
    size_t size, skew;

    rllb_policy_desc_default(&d);
    d.kind = RLLB_POLICY_LEAST_LOAD;
    d.servers = 3;
    size = rllb_policy_size(&d);
    for (skew = 0; skew < 64; skew++) {
        memory = (unsigned char *)malloc(size + skew); /* exactly: a sanitizer sees the first byte too many */
        REQUIRE(memory);
        REQUIRE(rllb_policy_init(&d, memory + skew, size, &p) == RLLB_OK);
        CHECK_EQ_I(rllb_policy_choose(p, load), 1);
        free(memory);
    }
    d.kind = RLLB_POLICY_WEIGHTED_RANDOM;
    d.servers = RLLB_POLICY_SERVERS_MAX;
    p = rllb_policy_create(&d);
    REQUIRE(p);
    CHECK(rllb_policy_choose(p, NULL) < RLLB_POLICY_SERVERS_MAX);
    rllb_policy_destroy(p);
}

TEST(policy_allocates_once)
{
    static const float load[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    rllb_policy *p;
    int kind, i, before;

    for (kind = 0; kind < RLLB_POLICY_NUM; kind++) {
        before = alloc_live;
        alloc_calls = 0;
        alloc_fails_at = 0;
        CHECK(make((rllb_policy_kind)kind, 8, NULL, 0, 0) == NULL);
        CHECK_EQ_I(alloc_live, before);
        alloc_fails_at = -1;
        alloc_calls = 0;
        p = make((rllb_policy_kind)kind, 8, NULL, 0, 0);
        REQUIRE(p);
        for (i = 0; i < 1000; i++) rllb_policy_choose(p, load);
        rllb_policy_reset(p);
        CHECK_EQ_I(alloc_calls, 1);
        rllb_policy_destroy(p);
        CHECK_EQ_I(alloc_live, before);
    }
    rllb_policy_destroy(NULL);
    rllb_block_free(NULL);
    CHECK_EQ_I(alloc_live, 0); /* nothing of the whole program is left, when this test runs last */
}
