/* The vectors behind examples/similarity.c: nearest neighbours against brute force, the energy test on samples whose
   answer is known, tables that must be read and tables that must be refused. */

#include "common.h"
#include "rllb.h"
#include "test.h"
#include "vectors.h"

#include <stdlib.h>
#include <unistd.h>

/* Points of several shapes: even, in lumps, on a coarse grid (many equal distances), all equal. */
enum { EVEN, LUMPS, GRID, EQUAL, SHAPES };

static void fill(ex_vectors *v, int shape, uint64_t seed)
{
    rllb_rng rng;
    int32_t i, j;

    rllb_rng_init(&rng, seed, 0);
    for (i = 0; i < v->count; i++) {
        double middle = 0.2 * (double)rllb_rng_below(&rng, 5);
        for (j = 0; j < v->size; j++) {
            double u = rllb_rng_double(&rng);
            v->values[(size_t)i * (size_t)v->size + (size_t)j] = shape == EVEN    ? u
                                                                 : shape == LUMPS ? middle + 0.02 * u
                                                                 : shape == GRID  ? floor(4 * u) / 4
                                                                                  : 0.5;
        }
    }
}

/* How many rows differ from a scan of everything. */
static int32_t differing(const ex_vectors *from, const ex_vectors *among, bool not_itself)
{
    double *distance = calloc((size_t)from->count, sizeof *distance);
    int32_t *row = calloc((size_t)from->count, sizeof *row), *self = calloc((size_t)from->count, sizeof *self);
    int32_t i, k, wrong = 0;

    for (i = 0; self && i < from->count; i++) self[i] = i;
    if (!distance || !row || !self ||
        !ex_vectors_nearest(from, among, not_itself ? self : NULL, distance, row)) {
        wrong = from->count + 1;
    }
    for (i = 0; i < from->count && wrong <= from->count; i++) {
        double best = 0;
        int32_t at = -1;
        for (k = 0; k < among->count; k++) {
            double d = ex_vectors_distance(ex_vectors_row(from, i), ex_vectors_row(among, k), from->size);
            if (not_itself && k == i) continue;
            if (at < 0 || d < best) {
                best = d;
                at = k;
            }
        }
        wrong += row[i] != at || fabs(distance[i] - best) > 1e-15;
    }
    free(distance);
    free(row);
    free(self);
    return wrong;
}

TEST(nearest_is_what_a_scan_of_everything_finds)
{
    static const int32_t counts[] = { 1, 2, 7, 63, 64, 65, 66, 129, 200, 257, 400 };
    static const int32_t sizes[] = { 1, 2, 3, 5, 16, 33 };
    int32_t c, s, shape;

    for (c = 0; c < 11; c++) {
        for (s = 0; s < 6; s++) {
            for (shape = 0; shape < SHAPES; shape++) {
                ex_vectors from, among;
                REQUIRE(ex_vectors_make(&from, 1 + 137 % (c + 40), sizes[s]) &&
                        ex_vectors_make(&among, counts[c], sizes[s]));
                fill(&from, shape == EQUAL ? EVEN : shape, 5);
                fill(&among, shape, 6);
                CHECK_EQ_I(differing(&from, &among, false), 0);
                if (counts[c] > 1) CHECK_EQ_I(differing(&among, &among, true), 0);
                ex_vectors_free(&from);
                ex_vectors_free(&among);
            }
        }
    }
}

TEST(nearest_refuses_what_has_no_answer)
{
    ex_vectors a, b;
    double distance[4];
    int32_t first = 0;

    REQUIRE(ex_vectors_make(&a, 1, 3) && ex_vectors_make(&b, 4, 2));
    CHECK(!ex_vectors_nearest(&a, &b, NULL, distance, NULL));
    CHECK(!ex_vectors_nearest(&a, &a, &first, distance, NULL)); /* alone, and not itself */
    CHECK(ex_vectors_nearest(&a, &a, NULL, distance, NULL));
    CHECK_NEAR(distance[0], 0, 0);
    ex_vectors_free(&a);
    ex_vectors_free(&b);
}

TEST(nearest_of_a_large_trace_agrees_where_it_is_looked_at)
{
    ex_vectors from, among, few;
    double *distance, begin;
    int32_t *row, i, k, wrong = 0;

    REQUIRE(ex_vectors_make(&from, 1000, 16) && ex_vectors_make(&among, 8000, 16));
    fill(&from, EVEN, 1);
    fill(&among, EVEN, 2);
    distance = calloc(1000, sizeof *distance);
    row = calloc(1000, sizeof *row);
    REQUIRE(distance && row);
    begin = ex_clock_s();
    REQUIRE(ex_vectors_nearest(&from, &among, NULL, distance, row));
    NOTE("1,000 among 8,000 of 16, the hardest shape: %.3f s", ex_clock_s() - begin);
    REQUIRE(ex_vectors_sample(&from, 50, 3, &few, NULL));
    for (i = 0; i < 1000; i += 20) {
        double best = 1e9;
        for (k = 0; k < among.count; k++) {
            best = fmin(best, ex_vectors_distance(ex_vectors_row(&from, i), ex_vectors_row(&among, k), 16));
        }
        wrong += fabs(best - distance[i]) > 1e-14;
    }
    CHECK_EQ_I(wrong, 0);
    CHECK_EQ_I(few.count, 50);
    free(distance);
    free(row);
    ex_vectors_free(&few);
    ex_vectors_free(&from);
    ex_vectors_free(&among);
}

TEST(sample_draws_without_repetition_and_in_order)
{
    ex_vectors v, s;
    int32_t i, seen[10] = { 0 }, rows[10], k;
    bool in_order = true;

    REQUIRE(ex_vectors_make(&v, 10, 1));
    for (i = 0; i < 10; i++) v.values[i] = i;
    for (k = 0; k < 3000; k++) {
        REQUIRE(ex_vectors_sample(&v, 3, (uint64_t)k, &s, rows));
        in_order = in_order && s.count == 3 && rows[1] == (int)s.values[1] && s.values[0] < s.values[1] &&
                   s.values[1] < s.values[2];
        for (i = 0; i < 3; i++) seen[(int)s.values[i]]++;
        ex_vectors_free(&s);
    }
    CHECK(in_order);
    for (i = 0; i < 10; i++) CHECK_NEAR(seen[i], 900, 130); /* 5 standard deviations */
    REQUIRE(ex_vectors_sample(&v, 99, 1, &s, NULL));
    CHECK_EQ_I(s.count, 10);
    ex_vectors_free(&s);
    ex_vectors_free(&v);
}

TEST(energy_is_its_definition)
{
    /* one against two points on a line: E = 2 (1 + 3) / 2 - 0 - 2 * 2 / 4 = 3, of at most 2 * 2 */
    ex_vectors a, b;
    ex_energy e;

    REQUIRE(ex_vectors_make(&a, 1, 1) && ex_vectors_make(&b, 2, 1));
    b.values[0] = 1;
    b.values[1] = 3;
    REQUIRE(ex_energy_test(&a, &b, 100, 99, 1, &e));
    CHECK_NEAR(e.distance, 3, 1e-6);
    CHECK_NEAR(e.coefficient, 0.75, 1e-6);
    CHECK(e.p >= 0.01 && e.p <= 1);
    REQUIRE(ex_energy_test(&b, &b, 100, 99, 1, &e));
    CHECK_NEAR(e.distance, 0, 1e-6);
    CHECK_NEAR(e.p, 1, 0);
    ex_vectors_free(&a);
    ex_vectors_free(&b);
}

/* The nearest-neighbour figure is fooled by a constant; this one must not be. And where both sets are of one kind its
   p must be anything with equal chance: below 0.1 in about a tenth of the draws. */
TEST(energy_tells_apart_what_differs_and_nothing_else)
{
    ex_vectors a, b;
    ex_energy e;
    int32_t k, low = 0, i;

    REQUIRE(ex_vectors_make(&a, 60, 3) && ex_vectors_make(&b, 60, 3));
    for (k = 0; k < 200; k++) {
        fill(&a, EVEN, (uint64_t)(1000 + k));
        fill(&b, EVEN, (uint64_t)(5000 + k));
        REQUIRE(ex_energy_test(&a, &b, 100, 99, (uint64_t)k, &e));
        low += e.p <= 0.1;
    }
    NOTE("p at most 0.1 in %d of 200 draws", (int)low);
    CHECK(low >= 6 && low <= 38); /* binomial, 4.2 standard deviations either way */
    for (i = 0; i < 180; i++) b.values[i] = 0.5;
    REQUIRE(ex_energy_test(&a, &b, 100, 199, 1, &e));
    CHECK_NEAR(e.p, 1.0 / 200, 1e-12);
    fill(&b, EVEN, 9);
    for (i = 0; i < 180; i++) b.values[i] += 0.3;
    REQUIRE(ex_energy_test(&a, &b, 100, 199, 1, &e));
    CHECK_NEAR(e.p, 1.0 / 200, 1e-12);
    ex_vectors_free(&a);
    ex_vectors_free(&b);
}

/* ---- tables ------------------------------------------------------------------------------------------------ */

static char folder[64];

static const char *file(const char *name, const char *text)
{
    static ex_path paths[4];
    static int next;
    ex_path *p = &paths[next++ % 4];

    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/rllb-vectors-XXXXXX");
        if (!mkdtemp(folder)) folder[0] = '\0';
    }
    *p = ex_path_join(folder, name);
    ex_file_write(p->text, text, strlen(text));
    return p->text;
}

static bool read_text(const char *text, const char *columns, ex_vectors *out)
{
    ex_vectors_desc d = { 0 };
    bool ok;

    d.files = file("a.csv", text);
    d.columns = columns;
    ok = ex_vectors_read(&d, out);
    unlink(d.files);
    return ok;
}

TEST(columns_that_are_loads_are_found)
{
    static const struct {
        const char *text, *columns;
        int32_t size;
        double first, last; /* of the first row */
    } good[] = {
        { "X1,X2,X3\n.1,.2,.3\n.4,.5,.6\n", NULL, 3, .1, .3 },
        { "Step,Server1,Server2,Action\n1,.5,.25,Server2\n2,.1,.1,Server1\n", NULL, 2, .5, .25 },
        { "step,server_1,server_2,reward,action\n1,.5,.25,-3,1\n2,.1,.1,-4,0\n", NULL, 2, .5, .25 },
        { "t_s,vm_1,vm_2\n0,.7,.2\n300,.6,.1\n", NULL, 2, .7, .2 },
        { "timestamp,value\n2014-02-14 14:27:00,50\n2014-02-14 14:32:00,40\n", NULL, 1, .5, .5 },
        { "\xEF\xBB\xBF\"a\";\"b\"\r\n 0.5 ; 0.25 \r\n\r\n1;0", NULL, 2, .5, .25 },
        { "a\tb\n1\t0.5\n1\t1\n", NULL, 2, 1, .5 },
        { ".1,.2\n.3,.4\n", NULL, 2, .1, .2 },
        { "X1,X2,X3\n.1,.2,.3\n.4,.5,.6\n", "x3,X1", 2, .3, .1 },
        { "X1,X2,X3\n.1,.2,.3\n.4,.5,.6\n", "2", 1, .2, .2 },
        { "a,b\n200,100\n400,1\n", NULL, 2, .5, .25 },
    };
    int32_t i;

    for (i = 0; i < EX_COUNT(good); i++) {
        ex_vectors v;
        REQUIRE(read_text(good[i].text, good[i].columns, &v));
        CHECK_EQ_I(v.count, 2);
        CHECK_EQ_I(v.size, good[i].size);
        CHECK_NEAR(v.values[0], good[i].first, 1e-15);
        CHECK_NEAR(v.values[v.size - 1], good[i].last, 1e-15);
        ex_vectors_free(&v);
    }
}

TEST(tables_that_are_none_are_refused)
{
    static const struct {
        const char *text, *columns;
    } bad[] = {
        { "", NULL },
        { "a,b\n", NULL },
        { "a,b\n1,2\n3\n", NULL },
        { "a,b\n1,2\n3,\n", NULL },
        { "a,b\n1,2\n3,nan\n", NULL },
        { "a,b\n1,2\n3,4x\n", NULL },
        { "a,b\nx,y\n", NULL },
        { "step,action\n1,2\n", NULL },
        { "a,b\n1,\"2\n", NULL },
        { "a,b\n1,2\n", "c" },
        { "a,b\n1,2\n", "3" },
        { "a,b\n1,2\n", "a,,b" },
        { "a,b\n1,2,3\n", NULL },
    };
    int32_t i;

    for (i = 0; i < EX_COUNT(bad); i++) {
        ex_vectors v;
        CHECK(!read_text(bad[i].text, bad[i].columns, &v));
        CHECK(v.values == NULL);
    }
}

TEST(several_files_are_joined_by_row_or_by_time)
{
    ex_vectors_desc d = { 0 };
    ex_vectors v;
    char files[300];

    snprintf(files, sizeof files, "%s,%s", file("one.csv", "timestamp,value\n10:00,1\n10:05,.5\n10:10,.25\n"),
             file("two.csv", "timestamp,value\n10:05,.1\n10:10,.2\n"));
    d.files = files;
    REQUIRE(ex_vectors_read(&d, &v));
    CHECK_EQ_I(v.count, 2);
    CHECK_EQ_I(v.size, 2);
    CHECK_NEAR(v.values[0], 1, 0);
    CHECK_NEAR(v.values[1], .1, 0);
    CHECK_STR(v.names[1], "two");
    ex_vectors_free(&v);
    d.by_time = true;
    REQUIRE(ex_vectors_read(&d, &v));
    CHECK_EQ_I(v.count, 2);
    CHECK_NEAR(v.values[0], .5, 0);
    CHECK_NEAR(v.values[1], .1, 0);
    CHECK_NEAR(v.values[2], .25, 0);
    ex_vectors_free(&v);
    file("two.csv", "timestamp,value\n11:05,.1\n");
    CHECK(!ex_vectors_read(&d, &v));
    file("two.csv", "a,value\n11:05,.1\n");
    CHECK(!ex_vectors_read(&d, &v));
    unlink(ex_path_join(folder, "one.csv").text);
    unlink(ex_path_join(folder, "two.csv").text);
    CHECK_EQ_I(rmdir(folder), 0);
    folder[0] = '\0';
}
