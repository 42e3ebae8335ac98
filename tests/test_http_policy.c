/* Which server: policies of the proxy over a fake clock, without sockets. Servers are so many lines each, a request
   takes its time in one of them. */

#include "rllb.h"
#include "test.h"

#include "../examples/http/config.c"
#include "../examples/http/policy.c"

#include <sys/stat.h>
#include <unistd.h>

enum { LINES = 4, MOST = 4096 };

/* ---- a farm ---------------------------------------------------------------------------------------------------- */

typedef struct flight {
    px_attempt attempt;
    double ends_s;
} flight;

typedef struct farm {
    px_policy *policy;
    double work_s[8];     /* of a request at each server */
    bool fails[8];        /* at once */
    double free_s[8][LINES];
    flight flights[MOST];
    int32_t count;
    double now_s;
    int64_t ended, failed, none, at[8];
    double sum_s;
    rllb_rng rng;
} farm;

static farm world;

static void settings_of(px_config *c, const char *text)
{
    char why[200];

    px_config_default(c);
    if (!px_config_text(c, "test", text, strlen(text), why)) printf("%s\n", why);
}

static farm *farm_of(const char *text)
{
    static px_config c;
    farm *f = &world;
    int32_t j;

    memset(f, 0, sizeof *f);
    settings_of(&c, text);
    for (j = 0; j < 8; j++) f->work_s[j] = 0.01;
    f->now_s = 1000;
    rllb_rng_init(&f->rng, 7, 7);
    if (!px_policy_create(&c, f->now_s, &f->policy)) return NULL;
    return f;
}

static void arrive(farm *f, uint64_t key)
{
    flight *r = &f->flights[f->count];
    int32_t j, i, best = 0;

    if (f->count == MOST || !px_policy_pick(f->policy, key, f->now_s, &r->attempt)) {
        f->none++;
        return;
    }
    j = r->attempt.server;
    f->at[j]++;
    for (i = 1; i < LINES; i++) {
        if (f->free_s[j][i] < f->free_s[j][best]) best = i;
    }
    if (f->free_s[j][best] < f->now_s) f->free_s[j][best] = f->now_s;
    if (!f->fails[j]) f->free_s[j][best] += rllb_rng_exponential(&f->rng, f->work_s[j]);
    r->ends_s = f->fails[j] ? f->now_s + 0.001 : f->free_s[j][best];
    f->count++;
}

static void answers(farm *f)
{
    int32_t i;

    for (i = f->count - 1; i >= 0; i--) {
        flight r = f->flights[i];
        bool failed = f->fails[r.attempt.server];
        if (r.ends_s > f->now_s) continue;
        px_policy_done(f->policy, &r.attempt, f->now_s, failed ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK);
        f->sum_s += f->now_s - r.attempt.started_s;
        f->ended++;
        f->failed += failed;
        f->flights[i] = f->flights[--f->count];
    }
}

/* So many seconds of traffic, by the millisecond; answers the mean milliseconds of a request. */
static double serve(farm *f, double seconds, double rate)
{
    double end_s = f->now_s + seconds, next_s = f->now_s;

    f->ended = f->failed = f->none = 0;
    f->sum_s = 0;
    memset(f->at, 0, sizeof f->at);
    for (; f->now_s < end_s; f->now_s += 0.001) {
        answers(f);
        px_policy_tick(f->policy, f->now_s);
        for (; next_s <= f->now_s; next_s += rllb_rng_exponential(&f->rng, 1 / rate)) {
            arrive(f, rllb_rng_u64(&f->rng) | 1);
        }
    }
    return f->ended ? 1000 * f->sum_s / (double)f->ended : (double)NAN;
}

static void finish(farm *f)
{
    double end_s = f->now_s + 100;

    for (; f->count && f->now_s < end_s; f->now_s += 0.01) answers(f);
}

static int64_t in_flight(farm *f)
{
    rllb_balancer *b = px_policy_balancer(f->policy);
    rllb_server_info info;
    int64_t n = 0;
    int32_t j;

    for (j = 0; j < PX_INDEXES_MOST; j++) {
        if (rllb_balancer_server(b, j, &info) == RLLB_OK) n += info.in_flight;
    }
    return n;
}

static bool reload(farm *f, const char *text)
{
    static px_config c;

    settings_of(&c, text);
    return px_policy_reload(f->policy, &c, f->now_s);
}

#define THREE "server a 127.0.0.1:1\nserver b 127.0.0.1:2\nserver c 127.0.0.1:3\n"
#define FOUR THREE "server d 127.0.0.1:4\n"

/* ---- tests ----------------------------------------------------------------------------------------------------- */

TEST(every_policy_serves)
{
    const char *names[NAMES_MOST];
    char text[400];
    int32_t i, j;

    policy_names(false, names);
    for (i = 0; names[i]; i++) {
        farm *f;
        snprintf(text, sizeof text, FOUR "policy %s\nhealth /health says=json\n", names[i]);
        f = farm_of(text);
        CHECK(f != NULL);
        if (!f) continue;
        serve(f, 4, 400);
        NOTE("%s", names[i]);
        CHECK_EQ_I(f->none, 0);
        CHECK(f->ended > 1000);
        for (j = 0; j < 4; j++) CHECK(f->at[j] > 0);
        CHECK_EQ_I(in_flight(f), f->count);
        finish(f);
        CHECK_EQ_I(in_flight(f), 0);
        CHECK(px_policy_reward(f->policy) < 0);
        px_policy_destroy(f->policy);
    }
    CHECK(i > 20);
}

TEST(unknown_and_impossible_policies_are_refused)
{
    static px_config c;
    px_policy *p = NULL;

    settings_of(&c, THREE);
    snprintf(c.policy, sizeof c.policy, "gsq");
    CHECK(!px_policy_create(&c, 0, &p));
    snprintf(c.policy, sizeof c.policy, "choose");
    CHECK(!px_policy_create(&c, 0, &p));
    snprintf(c.policy, sizeof c.policy, "learned");
    snprintf(c.model, sizeof c.model, "no/such/model");
    CHECK(!px_policy_create(&c, 0, &p));
    CHECK(p == NULL);
}

/* A slow server, of which nobody says so. */
TEST(learned_finds_out_who_is_slow)
{
    farm *f = farm_of(FOUR "policy learned\n");
    rllb_server_info slow, fast;

    REQUIRE(f);
    f->work_s[3] = 0.05;
    serve(f, 60, 700);
    serve(f, 20, 700);
    rllb_balancer_server(px_policy_balancer(f->policy), 3, &slow);
    rllb_balancer_server(px_policy_balancer(f->policy), 0, &fast);
    NOTE("weights %.2f and %.2f, share %.3f", (double)slow.weight_in_force, (double)fast.weight_in_force,
         (double)f->at[3] / (double)f->ended);
    CHECK(slow.weight_in_force < 0.5f * fast.weight_in_force);
    CHECK((double)f->at[3] < 0.15 * (double)f->ended);
    px_policy_destroy(f->policy);
}

/* As in seed 1: nothing queues, the fastest of three is best, and round robin does not know. */
TEST(q_learning_finds_the_fastest)
{
    farm *f = farm_of(THREE "policy round_robin\n");
    double plain, learned;

    REQUIRE(f);
    f->work_s[1] = 0.015;
    f->work_s[2] = 0.02;
    plain = serve(f, 20, 40);
    px_policy_destroy(f->policy);
    f = farm_of(THREE "policy q_learning\n");
    REQUIRE(f);
    f->work_s[1] = 0.015;
    f->work_s[2] = 0.02;
    serve(f, 100, 40);
    learned = serve(f, 50, 40);
    NOTE("round robin %.2f ms, q_learning %.2f ms", plain, learned);
    CHECK(learned < 0.85 * plain);
    px_policy_destroy(f->policy);
}

TEST(checks_take_out_and_put_in)
{
    static const char *const policies[] = { "sed", "learned", "q_learning", "maglev", "prequal" };
    px_said said = { 20, 3, 12, (double)NAN };
    char text[400];
    int32_t i;

    for (i = 0; i < EX_COUNT(policies); i++) {
        farm *f;
        snprintf(text, sizeof text, THREE "policy %s\nhealth /health says=json\n", policies[i]);
        f = farm_of(text);
        REQUIRE(f);
        serve(f, 2, 300);
        px_policy_health(f->policy, 1, false, NULL, f->now_s);
        serve(f, 2, 300);
        NOTE("%s", policies[i]);
        CHECK_EQ_I(f->at[1], 0);
        CHECK_EQ_I(f->none, 0);
        px_policy_health(f->policy, 1, true, &said, f->now_s);
        serve(f, 30, 300);
        CHECK(f->at[1] > 0);
        px_policy_destroy(f->policy);
    }
}

/* The operator's drain outlives checks. */
TEST(drain_and_checks_do_not_mix)
{
    farm *f = farm_of(THREE "policy sed\n");

    REQUIRE(f);
    CHECK(px_policy_drain(f->policy, 2, true, f->now_s));
    CHECK(!px_policy_drain(f->policy, 3, true, f->now_s));
    serve(f, 1, 300);
    CHECK_EQ_I(f->at[2], 0);
    px_policy_health(f->policy, 2, false, NULL, f->now_s);
    px_policy_health(f->policy, 2, true, NULL, f->now_s);
    serve(f, 1, 300);
    CHECK_EQ_I(f->at[2], 0);
    CHECK(px_policy_drain(f->policy, 2, false, f->now_s));
    serve(f, 20, 300);
    CHECK(f->at[2] > 0);
    px_policy_destroy(f->policy);
}

TEST(all_down_is_nobody)
{
    farm *f = farm_of(THREE "policy sed\n");
    int32_t j;

    REQUIRE(f);
    for (j = 0; j < 3; j++) px_policy_health(f->policy, j, false, NULL, f->now_s);
    serve(f, 1, 100);
    CHECK_EQ_I(f->ended, 0);
    CHECK(f->none > 50);
    px_policy_destroy(f->policy);
}

/* What checks tell moves awcmp: busy workers. */
TEST(reports_reach_the_balancer)
{
    farm *f = farm_of(THREE "policy awcmp\nhealth /server-status?auto says=apache\n");
    rllb_server_info busy, calm;
    int32_t i, j;

    REQUIRE(f);
    for (i = 0; i < 40; i++) {
        for (j = 0; j < 3; j++) {
            px_said said = { (double)NAN, (double)NAN, (double)NAN, j == 0 ? 9 : 3 };
            px_policy_health(f->policy, j, true, &said, f->now_s);
        }
        serve(f, 0.3, 100);
    }
    rllb_balancer_server(px_policy_balancer(f->policy), 0, &busy);
    rllb_balancer_server(px_policy_balancer(f->policy), 1, &calm);
    CHECK(busy.weight_in_force < 0.5f * calm.weight_in_force);
    px_policy_destroy(f->policy);
}

TEST(shadow_serves_by_the_fallback)
{
    farm *f = farm_of(THREE "policy learned\nfallback lsq\nshadow yes\n");
    rllb_counters n;

    REQUIRE(f);
    CHECK(px_policy_is_shadow(f->policy));
    serve(f, 5, 300);
    rllb_balancer_counters(px_policy_balancer(f->policy), &n);
    CHECK(n.shadow_picks > 1000);
    px_policy_shadow(f->policy, false, f->now_s);
    serve(f, 1, 300);
    rllb_balancer_counters(px_policy_balancer(f->policy), &n);
    CHECK_EQ_I(px_policy_is_shadow(f->policy), false);
    CHECK(reload(f, THREE "policy learned\nfallback lsq\nshadow yes\n")); /* the operator's word stands */
    CHECK_EQ_I(px_policy_is_shadow(f->policy), false);
    px_policy_destroy(f->policy);
}

/* ---- reload ---------------------------------------------------------------------------------------------------- */

TEST(servers_come_and_go_and_keep_their_places)
{
    farm *f = farm_of(THREE "policy learned\n");
    rllb_balancer *before;

    REQUIRE(f);
    serve(f, 5, 300);
    before = px_policy_balancer(f->policy);
    CHECK(reload(f, "server c 127.0.0.1:3\nserver a 127.0.0.1:1 weight=2\nserver d 127.0.0.1:4\npolicy learned\n"));
    CHECK(px_policy_balancer(f->policy) == before);
    CHECK_EQ_I(px_policy_server(f->policy, "a"), 0);
    CHECK_EQ_I(px_policy_server(f->policy, "c"), 2);
    CHECK_EQ_I(px_policy_server(f->policy, "b"), -1);
    CHECK(px_policy_server(f->policy, "d") > 0);
    CHECK_EQ_I(in_flight(f), f->count);
    serve(f, 20, 300);
    CHECK(f->at[px_policy_server(f->policy, "d")] > 0);
    CHECK_EQ_I(f->none, 0);
    finish(f);
    CHECK_EQ_I(in_flight(f), 0);
    px_policy_destroy(f->policy);
}

/* A server leaves while requests are under way there: its place is not given away before they end. */
TEST(a_place_is_free_when_nothing_is_under_way)
{
    farm *f = farm_of(THREE "policy lsq\n");
    px_attempt a;
    int32_t j;

    REQUIRE(f);
    for (j = 0; j < 3; j++) {
        CHECK(px_policy_pick(f->policy, 0, f->now_s, &a));
        if (a.server == 1) break;
        px_policy_drain(f->policy, a.server, true, f->now_s);
    }
    CHECK_EQ_I(a.server, 1);
    CHECK(reload(f, "server a 127.0.0.1:1\nserver c 127.0.0.1:3\nserver d 127.0.0.1:4\npolicy lsq\n"));
    CHECK(px_policy_server(f->policy, "d") != 1);
    px_policy_done(f->policy, &a, f->now_s + 1, RLLB_OUTCOME_OK);
    f->now_s += 2;
    CHECK(reload(f, FOUR "policy lsq\n"));
    CHECK_EQ_I(px_policy_server(f->policy, "b"), 1);
    px_policy_destroy(f->policy);
}

/* Another policy, in the middle of traffic: attempts under way end with the new one, who is down stays down. */
TEST(another_policy_takes_over)
{
    static const char *const policies[] = { "learned", "q_learning", "least_time", "round_robin", "maglev_bounded" };
    farm *f = farm_of(FOUR "policy sed\n");
    char text[300];
    int32_t i;

    REQUIRE(f);
    f->work_s[0] = 0.03;
    serve(f, 5, 300);
    px_policy_health(f->policy, 3, false, NULL, f->now_s);
    px_policy_drain(f->policy, 2, true, f->now_s);
    for (i = 0; i < EX_COUNT(policies); i++) {
        int32_t under_way = f->count;
        snprintf(text, sizeof text, FOUR "policy %s\n", policies[i]);
        CHECK(reload(f, text));
        NOTE("%s", policies[i]);
        CHECK_STR(px_policy_name(f->policy), policies[i]);
        CHECK(under_way > 0);
        CHECK_EQ_I(in_flight(f), under_way);
        serve(f, 3, 250);
        CHECK_EQ_I(f->at[3] + f->at[2], 0);
        CHECK_EQ_I(f->none, 0);
    }
    finish(f);
    CHECK_EQ_I(in_flight(f), 0);
    px_policy_destroy(f->policy);
}

TEST(a_wrong_reload_changes_nothing)
{
    farm *f = farm_of(THREE "policy sed\n");
    rllb_balancer *before;

    REQUIRE(f);
    serve(f, 1, 300);
    before = px_policy_balancer(f->policy);
    CHECK(!reload(f, FOUR "policy learned\nmodel no/such/model\n"));
    CHECK(px_policy_balancer(f->policy) == before);
    CHECK_STR(px_policy_name(f->policy), "sed");
    CHECK_EQ_I(px_policy_server(f->policy, "d"), -1);
    serve(f, 1, 300);
    CHECK_EQ_I(f->none, 0);
    px_policy_destroy(f->policy);
}

TEST(many_servers_come)
{
    farm *f = farm_of(THREE "policy learned\n");
    char text[4000] = "policy learned\n";
    int32_t i;

    REQUIRE(f);
    serve(f, 1, 300);
    for (i = 0; i < 90; i++) snprintf(text + strlen(text), 40, "server s%d 127.0.0.1:%d\n", (int)i, (int)i + 1);
    CHECK(reload(f, text));
    CHECK_EQ_I(in_flight(f), f->count);
    finish(f);
    CHECK_EQ_I(in_flight(f), 0);
    CHECK_EQ_I(px_policy_server(f->policy, "a"), -1);
    CHECK(px_policy_server(f->policy, "s89") >= 0);
    px_policy_destroy(f->policy);
}

/* ---- what was learned is kept ---------------------------------------------------------------------------------- */

static const char *state_path(void)
{
    static char path[100];

    snprintf(path, sizeof path, "build/test/policy-%ld.state", (long)getpid());
    mkdir("build", 0777);
    mkdir("build/test", 0777);
    return path;
}

/* A process ends and another one begins, at another time of the clock. */
TEST(what_was_learned_is_found_again)
{
    const char *path = state_path();
    char text[400];
    rllb_server_info before, after;
    farm *f;

    snprintf(text, sizeof text, FOUR "policy learned\nstate %s\n", path);
    f = farm_of(text);
    REQUIRE(f);
    f->work_s[3] = 0.05;
    serve(f, 60, 700);
    rllb_balancer_server(px_policy_balancer(f->policy), 3, &before);
    CHECK(f->count > 0); /* lost with the process */
    CHECK(px_policy_save(f->policy, path));
    px_policy_destroy(f->policy);
    snprintf(text, sizeof text, "server d 127.0.0.1:4\nserver new 127.0.0.1:9\n" THREE "policy learned\nstate %s\n",
             path);
    f = farm_of(text);
    REQUIRE(f);
    rllb_balancer_server(px_policy_balancer(f->policy), 3, &after);
    CHECK_EQ_I(px_policy_server(f->policy, "d"), 3);
    CHECK(px_policy_server(f->policy, "new") >= 0);
    NOTE("weight %.3f, then %.3f", (double)before.weight_in_force, (double)after.weight_in_force);
    CHECK(after.weight_in_force < 0.6f && before.weight_in_force < 0.6f);
    CHECK_EQ_I(after.in_flight, 0);
    CHECK_EQ_U(after.picks, after.done + after.lost);
    f->work_s[3] = 0.05;
    serve(f, 5, 700);
    CHECK_EQ_I(f->none, 0);
    CHECK((double)f->at[3] < 0.2 * (double)f->ended);
    px_policy_destroy(f->policy);
    remove(path);
}

TEST(a_table_is_found_again)
{
    const char *path = state_path();
    char text[400];
    rllb_qlearn_info before, after;
    farm *f;

    snprintf(text, sizeof text, THREE "policy q_learning\nstate %s\n", path);
    f = farm_of(text);
    REQUIRE(f);
    serve(f, 30, 100);
    rllb_qlearn_query(f->policy->table, NULL, &before);
    CHECK(before.updates > 1000);
    CHECK(px_policy_save(f->policy, path));
    px_policy_destroy(f->policy);
    f = farm_of(text);
    REQUIRE(f);
    rllb_qlearn_query(f->policy->table, NULL, &after);
    CHECK_EQ_U(after.updates, before.updates);
    CHECK_EQ_U(after.rows, before.rows);
    CHECK_NEAR(after.epsilon, before.epsilon, 0);
    CHECK(reload(f, FOUR "policy q_learning\nfallback lsq\n")); /* another balancer, the same table */
    rllb_qlearn_query(f->policy->table, NULL, &after);
    CHECK_EQ_U(after.updates, before.updates);
    px_policy_destroy(f->policy);
    remove(path);
}

/* Any byte of the file turned, any end of it cut off, any other file: a fresh start. */
TEST(a_damaged_state_is_not_used)
{
    const char *path = state_path();
    char text[400];
    ex_text good = { NULL, 0, 0, false };
    uint64_t picks;
    rllb_server_info info;
    size_t i;
    farm *f;

    snprintf(text, sizeof text, THREE "policy sed\nstate %s\n", path);
    f = farm_of(text);
    REQUIRE(f);
    serve(f, 1, 300);
    CHECK(px_policy_save(f->policy, path));
    px_policy_destroy(f->policy);
    REQUIRE(ex_file_read(path, 1 << 24, &good));
    CHECK(freopen("/dev/null", "w", stderr) != NULL); /* a line for each of them */
    for (i = 0; i < good.size + 8; i += 1 + i / 20) {
        if (i < good.size) good.data[i] = (char)(good.data[i] ^ 0x10);
        CHECK(ex_file_write(path, good.data, i < good.size ? good.size : good.size - 1 - i % 8));
        if (i < good.size) good.data[i] = (char)(good.data[i] ^ 0x10);
        f = farm_of(text);
        REQUIRE(f);
        rllb_balancer_server(px_policy_balancer(f->policy), 0, &info);
        CHECK_EQ_U(info.picks, 0);
        px_policy_destroy(f->policy);
    }
    CHECK(ex_file_write(path, good.data, good.size));
    f = farm_of(text);
    REQUIRE(f);
    rllb_balancer_server(px_policy_balancer(f->policy), 0, &info);
    picks = info.picks;
    CHECK(picks > 0);
    px_policy_destroy(f->policy);
    f = farm_of(FOUR "policy lsq\n");
    REQUIRE(f);
    CHECK(px_policy_save(f->policy, path)); /* another policy's */
    px_policy_destroy(f->policy);
    f = farm_of(text);
    REQUIRE(f);
    rllb_balancer_server(px_policy_balancer(f->policy), 0, &info);
    CHECK_EQ_U(info.picks, 0);
    px_policy_destroy(f->policy);
    ex_text_free(&good);
    remove(path);
}
