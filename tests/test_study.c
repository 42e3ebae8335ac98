/* What tune, compare and ablation stand on: figures whose value is known, and training runs that must differ, or must
   not. */

#include "study.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

TEST(means_and_deviations_of_the_tail)
{
    const double v[] = { 100, 2, 4, 4, 4, 5, 5, 7, 9 };
    double out[9];

    CHECK_NEAR(ex_mean(v, 9), 140.0 / 9, 1e-12);
    CHECK_NEAR(ex_tail_mean(v, 9, 8), 5, 1e-12);
    CHECK_NEAR(ex_tail_mean(v, 9, 1000), 140.0 / 9, 1e-12);
    CHECK_NEAR(ex_tail_sd(v, 9, 8), sqrt(32.0 / 7), 1e-12);
    ex_rolling_mean(v, 9, 2, out);
    CHECK_NEAR(out[0], 100, 0);
    CHECK_NEAR(out[1], 51, 1e-12);
    CHECK_NEAR(out[8], 8, 1e-12);
}

/* Student's t with two degrees of freedom: 4.303; the interval of a single value is not known. */
TEST(intervals)
{
    const double v[] = { 1, 2, 3 }, many[] = { 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1 };
    ex_estimate e = ex_estimate_t(v, 3), b;

    CHECK_NEAR(e.mean, 2, 1e-12);
    CHECK_NEAR(e.high - e.mean, 4.303 / sqrt(3.0), 2e-3);
    CHECK_NEAR(e.mean - e.low, e.high - e.mean, 1e-12);
    CHECK(isnan(ex_estimate_t(v, 1).low));
    b = ex_estimate_bootstrap(many, 16);
    CHECK_NEAR(b.mean, 0.5, 1e-12);
    CHECK_NEAR(b.low, 0.25, 1e-12); /* 2.5 % of Binomial(16, 1/2) / 16 */
    CHECK_NEAR(b.high, 0.75, 1e-12);
    CHECK(isnan(ex_estimate_bootstrap(v, 1).low));
}

TEST(rank_correlation)
{
    const double a[] = { 1, 2, 3, 4, 5 }, up[] = { 10, 200, 201, 5000, 1e9 }, down[] = { 5, 4, 3, 2, 1 };
    const double some[] = { 2, 1, 4, 3, 5 }, ties[] = { 1, 2, 2, 3, 3 }, flat[] = { 7, 7, 7, 7, 7 };
    ex_estimate e;

    CHECK_NEAR(ex_spearman(a, up, 5), 1, 1e-12);
    CHECK_NEAR(ex_spearman(a, down, 5), -1, 1e-12);
    CHECK_NEAR(ex_spearman(a, some, 5), 0.8, 1e-12); /* 1 - 6 * 4 / (5 * 24) */
    CHECK_NEAR(ex_spearman(a, ties, 5), 9 / sqrt(10.0 * 9), 1e-12); /* ranks 1, 2.5, 2.5, 4.5, 4.5 */
    CHECK(isnan(ex_spearman(a, flat, 5)));
    e = ex_spearman_bootstrap(a, up, 5);
    CHECK_NEAR(e.low, 1, 1e-12);
    CHECK_NEAR(e.high, 1, 1e-12);
}

/* ---- runs -------------------------------------------------------------------------------------------------- */

enum { TRIALS = 12 };

static char folder[64];

static ex_trial small(int32_t which)
{
    ex_trial t;

    ex_trial_default(&t);
    t.episodes = 40;
    t.batch = 32;
    switch (which) {
    case 1: t.algo = EX_DUELING; break;
    case 2: t.double_dqn = true; break;
    case 3: t.prioritized = true; break;
    case 4: t.no_target = true; break;
    case 5: t.no_replay = true; break;
    case 6: t.never_learns = true; break;
    case 7: t.clip = 0; break;
    case 8: t.epsilon_fixed = 0.2; break;
    case 9: t.learn_every = 4; break;
    case 10: t.soft_every = 10; break;
    case 11: t.seed = 2; break;
    default: break;
    }
    return t;
}

static bool fill(ex_study *s, const ex_study_how *how, int32_t first, int32_t count)
{
    int32_t i;

    if (ex_study_open(s, how, 0) != EX_GO_ON) return false;
    for (i = first; i < first + count; i++) {
        ex_trial t = small(i);
        if (!ex_study_add(s, &t, i - first, "trial")) return false;
    }
    return ex_study_run(s, NULL, 0) == EX_GO_ON;
}

static void empty(void)
{
    char command[160];

    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK_EQ_I(system(command), 0);
}

/* Every setting reaches the learner: no two of these runs have the same returns. And what is read back with --resume
   is what was computed, to the bit. */
TEST(every_setting_matters_and_survives_the_disk)
{
    ex_study_how how = { 0 };
    ex_study a, b;
    int32_t i, k;

    snprintf(folder, sizeof folder, "build/test/study.%ld", (long)getpid());
    how.out = folder;
    how.jobs = 2;
    how.quiet = true;
    REQUIRE(fill(&a, &how, 0, TRIALS));
    for (i = 0; i < TRIALS; i++) {
        REQUIRE(a.runs[i].data != NULL);
        for (k = 0; k < i; k++) {
            bool same = memcmp(a.runs[i].data, a.runs[k].data, (EX_FIGURES + 40) * sizeof(double)) == 0;
            NOTE("settings %d and %d", (int)k, (int)i);
            CHECK(!same);
        }
        CHECK(ex_mean(ex_run_lengths(&a.runs[i]), 40) > 3);
        CHECK(ex_run_returns(&a.runs[i])[39] < -40);
        CHECK_NEAR(ex_run_measure(&a.runs[i], EX_M_AREA), ex_mean(ex_run_returns(&a.runs[i]), 40), 1e-12);
    }
    ex_folder_unlock(&a.lock);
    how.resume = true;
    REQUIRE(fill(&b, &how, 0, TRIALS));
    for (i = 0; i < TRIALS; i++) {
        CHECK_STR(b.runs[i].name, a.runs[i].name);
        CHECK_MEM(b.runs[i].data, a.runs[i].data, (EX_FIGURES + 3 * 40) * sizeof(double));
    }
    ex_study_close(&a);
    ex_study_close(&b);
    empty();
}

/* A network that never learns has weights near 0 and so expects next to nothing; what it gets is far below. */
TEST(expectations_are_compared_with_what_comes)
{
    ex_study_how how = { 0 };
    ex_study s;

    snprintf(folder, sizeof folder, "build/test/study.%ld", (long)getpid());
    how.out = folder;
    how.jobs = 1;
    how.quiet = true;
    REQUIRE(fill(&s, &how, 6, 1));
    NOTE("value %g gain %g", ex_run_figure(&s.runs[0], EX_GREEDY_VALUE), ex_run_figure(&s.runs[0], EX_GREEDY_GAIN));
    CHECK(fabs(ex_run_figure(&s.runs[0], EX_GREEDY_VALUE)) < 5);
    CHECK(ex_run_figure(&s.runs[0], EX_GREEDY_GAIN) < -40);
    CHECK(ex_run_measure(&s.runs[0], EX_M_BIAS) > 35);
    ex_study_close(&s);
    empty();
}
