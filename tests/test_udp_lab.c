/* What the lab makes of a run: when traffic left a busy client and when it came back, and what it waited. */

#include "rllb.h"
#include "test.h"

#include "../examples/udp/lab_findings.c"

/* The stage is not needed here. */
bool ul_stage_spaces(void) { return true; }
bool ul_stage_quotas(void) { return true; }
const char *ul_stage_why(void) { return ""; }

static ul_run run;
static ul_lab lab = { .policies = 1, .repeats = 1, .loaded = 2, .phase_s = { 20, 20, 20 }, .runs = &run };

/* Clients of equal shares, but for the loaded one between two moments, when it has that share. */
static void make_run(double from_s, double to_s, double share)
{
    int32_t i, k;

    memset(&run, 0, sizeof run);
    for (i = 0; i < 120; i++) {
        double at_s = 0.5 * i, own = at_s >= from_s && at_s < to_s ? share : 1.0 / 3;
        for (k = 0; k < UL_CLIENTS; k++) {
            run.client[k][i].count = 150 * (k == lab.loaded ? own : (1 - own) / 2);
            run.client[k][i].mean_ms = 2;
        }
        run.answers[i].count = 100 + i % 7;
        run.answers[i].mean_ms = at_s >= 20 && at_s < 40 ? 30 : 3;
    }
    run.sent = 120 * 150;
    ul_judge(&lab, &run);
}

TEST(leaving_and_coming_back_are_found)
{
    make_run(24, 45, 0.05);
    CHECK_NEAR(run.shares[0][2], 1.0 / 3, 1e-9);
    CHECK_NEAR(run.shares[1][2], 0.05, 1e-9);
    CHECK_NEAR(run.shares[2][2], 1.0 / 3, 1e-9);
    CHECK_NEAR(run.leave_s, 4, 1e-9);
    CHECK_NEAR(run.return_s, 5, 1e-9);
    CHECK_NEAR(run.delay_ms[0], 3, 1e-9);
    CHECK_NEAR(run.delay_ms[1], 30, 1e-9);
    CHECK_NEAR(run.delay_ms[2], 3, 1e-9);
}

TEST(traffic_that_stays_never_left)
{
    make_run(24, 45, 0.25);
    CHECK(isnan(run.leave_s));
    CHECK(isnan(run.return_s));
    CHECK_NEAR(run.shares[1][2], 0.25, 1e-9);
}

TEST(one_good_moment_is_not_leaving)
{
    make_run(24, 26, 0.05);
    CHECK(isnan(run.leave_s));
}

TEST(traffic_that_stays_away_never_came_back)
{
    make_run(20, 60, 0.01);
    CHECK(run.leave_s <= 1);
    CHECK(isnan(run.return_s));
}

TEST(the_share_between_two_moments)
{
    make_run(24, 45, 0.05);
    CHECK_NEAR(share_of(&run, 2, 23, 25), (1.0 / 3 + 0.05) / 2, 1e-9);
    CHECK_NEAR(share_of(&run, 0, 0, 0.5), 1.0 / 3, 1e-9);
    CHECK(isnan(share_of(&run, 0, 70, 71)));
}
