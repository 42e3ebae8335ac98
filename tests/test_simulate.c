/* What simulate and its kin stand on: events read, policies named, worlds made from presets, runs and their figures. */

#include "flows.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- events -------------------------------------------------------------------------------------------------- */

static bool parse(const char *text, rllb_env_event **events, int32_t *count, int64_t *line, char why[200])
{
    *events = NULL;
    return ex_events_parse(text, 7, events, count, line, why);
}

TEST(events_are_read)
{
    static const char text[] = "# what happens\r\n"
                               "time_s, event, server, value\r\n"
                               "\r\n"
                               "1,speed,3,0.25\r\n"
                               "1,fail,0,1\n"
                               " 2.5 , back , 3 ,\n"
                               "3,leave,6\n"
                               "4e0,join,6,\n"
                               "5,rate,,1.5";
    rllb_env_event *e;
    int32_t count;
    int64_t line;
    char why[200];

    REQUIRE(parse(text, &e, &count, &line, why));
    CHECK_EQ_I(count, 6);
    CHECK_EQ_I(line, 0);
    CHECK_NEAR(e[0].at_s, 1, 0);
    CHECK_EQ_I(e[0].kind, RLLB_ENV_EVENT_SPEED);
    CHECK_EQ_I(e[0].server, 3);
    CHECK_NEAR(e[0].value, 0.25, 0);
    CHECK_EQ_I(e[1].kind, RLLB_ENV_EVENT_FAIL);
    CHECK_NEAR(e[2].at_s, 2.5, 0);
    CHECK_EQ_I(e[2].kind, RLLB_ENV_EVENT_BACK);
    CHECK_EQ_I(e[3].kind, RLLB_ENV_EVENT_LEAVE);
    CHECK_EQ_I(e[3].server, 6);
    CHECK_EQ_I(e[4].kind, RLLB_ENV_EVENT_JOIN);
    CHECK_EQ_I(e[5].kind, RLLB_ENV_EVENT_RATE);
    CHECK_NEAR(e[5].value, 1.5, 0);
    free(e);
}

TEST(events_that_are_wrong)
{
    static const struct {
        const char *row, *words;
        int64_t line;
    } wrong[] = {
        { "1,sped,0,1", "no event is called 'sped'; there are speed, fail, back, join, leave, rate", 2 },
        { "1,SPEED,0,1", "no event is called 'SPEED'", 2 },
        { "x,speed,0,1", "'x' is not a time", 2 },
        { "-1,speed,0,1", "'-1' is not a time", 2 },
        { "nan,speed,0,1", "'nan' is not a time", 2 },
        { "1,speed,7,1", "'7' is not a server; they are 0 to 6", 2 },
        { "1,speed,-1,1", "is not a server", 2 },
        { "1,speed,,1", "is not a server", 2 },
        { "1,speed,1.5,1", "is not a server", 2 },
        { "1,speed,1,", "speed wants a value", 2 },
        { "1,speed,1", "speed wants a value", 2 },
        { "1,speed,1,-2", "speed wants a value", 2 },
        { "1,speed,1,inf", "speed wants a value", 2 },
        { "1,rate,,2e6", "rate wants a value from 0 to 1e+06", 2 },
        { "1,fail,1,1.5", "share from 0 to 1", 2 },
        { "1,back,1,2", "back takes no value", 2 },
        { "1,rate,3,2", "rate is of all servers", 2 },
        { "1,rate,,", "rate wants a value", 2 },
        { "1,speed,1,1,1", "5 fields", 2 },
        { "1", "1 fields", 2 },
        { "2,back,1,\n\n1,back,1,", "time 1 s comes after 2 s", 4 },
        { "", "no events", 0 },
    };
    rllb_env_event *e;
    int32_t count, i;
    int64_t line;
    char text[200], why[200];

    for (i = 0; i < EX_COUNT(wrong); i++) {
        snprintf(text, sizeof text, "time_s,event,server,value\n%s\n", wrong[i].row);
        NOTE("%s", wrong[i].row);
        CHECK(!parse(text, &e, &count, &line, why));
        CHECK(strstr(why, wrong[i].words) != NULL);
        CHECK_EQ_I(line, wrong[i].line);
        CHECK(e == NULL);
        CHECK_EQ_I(count, 0);
    }
    CHECK(!parse("", &e, &count, &line, why));
    CHECK(!parse("1,speed,0,1\n", &e, &count, &line, why));
    CHECK_EQ_I(line, 1);
    CHECK(strstr(why, "heading") != NULL);
}

/* ---- policies ------------------------------------------------------------------------------------------------ */

TEST(policies_by_name)
{
    static ex_balance p[EX_BALANCES_MAX];
    rllb_env_flows_desc d;
    int32_t count, i, oracles = 0;

    REQUIRE(ex_balances_parse("policy", "sed,draw(6,0,0.75),draw,draw(2),equalise(stretch,3,1,0,0.02),sed,peak_ewma(2)",
                              p, &count) == EX_OK);
    CHECK_EQ_I(count, 6); /* sed once */
    CHECK_STR(p[1].name, "draw(6,0,0.75)");
    CHECK_EQ_I(p[1].desc.policy, RLLB_BALANCE_DRAW);
    CHECK_EQ_I(p[1].desc.d, 6);
    CHECK_NEAR((double)p[1].desc.a, (double)RLLB_OFF, 0); /* 0 would be the default, 1 */
    CHECK_NEAR((double)p[1].desc.gamma, 0.75, 0);
    CHECK_EQ_I(p[2].desc.d, 0);
    CHECK_EQ_I(p[3].desc.d, 2);
    CHECK_NEAR((double)p[3].desc.a, 0, 0);
    CHECK(p[4].desc.by_stretch);
    CHECK_EQ_I(p[4].desc.d, 3);
    CHECK_NEAR((double)p[4].desc.eta, 0.02, 1e-7);
    CHECK_NEAR((double)p[5].desc.ewma_s, 2, 0);

    REQUIRE(ex_balances_parse("policy", "wcmp,all", p, &count) == EX_OK);
    CHECK_EQ_I(count, RLLB_BALANCE_NUM - 2); /* neither learned nor choose, and wcmp once */
    CHECK_EQ_I(p[0].desc.policy, RLLB_BALANCE_WCMP);
    REQUIRE(rllb_env_flows_preset(RLLB_ENV_PRESET_MODERATE, &d) == RLLB_OK);
    d.balancer.guard = ex_guard_off();
    for (i = 0; i < count; i++) {
        oracles += p[i].oracle;
        ex_balance_apply(&p[i], &d);
        NOTE("%s", p[i].name);
        CHECK(rllb_env_flows_size(&d) > 0);
        CHECK_EQ_I(d.balancer.policy, p[i].desc.policy);
        CHECK_NEAR((double)d.balancer.guard.minimum_share, (double)RLLB_OFF, 0);
    }
    CHECK_EQ_I(oracles, 3);
}

/* ---- worlds -------------------------------------------------------------------------------------------------- */

TEST(worlds_from_presets)
{
    ex_flows_how how = { .preset = RLLB_ENV_PRESET_FLEET };
    ex_group groups[EX_GROUPS_MAX];
    int32_t of[64], i;
    ex_flows f;

    for (i = 0; i < RLLB_ENV_PRESET_NUM; i++) CHECK_STR(ex_preset_names[i], rllb_env_preset_name((rllb_env_preset)i));
    CHECK(ex_preset_names[RLLB_ENV_PRESET_NUM] == NULL);
    REQUIRE(ex_flows_open(&f, &how));
    CHECK_REL(f.capacity, 744, 1e-6);
    CHECK_NEAR(f.desc.rate, 627, 0);
    REQUIRE(ex_flows_groups(&f.desc, groups, of) == 6);
    CHECK_STR(groups[0].name, "4 CPUs x 0.6");
    CHECK_STR(groups[4].name, "8 CPUs");
    CHECK_EQ_I(groups[4].servers, 4);
    CHECK_EQ_I(of[13], 4);
    CHECK_NEAR((double)f.desc.servers[2].weight, 0, 0); /* the world's default: CPUs */
    ex_flows_close(&f);

    how.weights = EX_WEIGHTS_CAPACITY;
    how.unguarded = true;
    REQUIRE(ex_flows_open(&f, &how));
    CHECK_NEAR((double)f.desc.servers[2].weight, 6, 1e-6);
    CHECK_NEAR((double)f.desc.balancer.guard.minimum_share, (double)RLLB_OFF, 0);
    ex_flows_close(&f);

    how.even = true;
    REQUIRE(ex_flows_open(&f, &how));
    CHECK_REL(f.capacity, 720, 1e-6);
    CHECK_EQ_I(ex_flows_groups(&f.desc, groups, NULL), 2);
    CHECK_NEAR((double)f.desc.servers[2].weight, 4, 1e-6);
    ex_flows_close(&f);

    memset(&how, 0, sizeof how);
    how.preset = RLLB_ENV_PRESET_SEED4_B;
    how.servers = 8;
    REQUIRE(ex_flows_open(&f, &how));
    CHECK_EQ_I(f.desc.count, 8);
    CHECK_REL(f.desc.rate, 84, 1e-6); /* the same load */
    CHECK_EQ_I(f.desc.servers[7].cpus, 2);
    ex_flows_close(&f);
}

/* More kinds of servers than there are groups: the last one has the rest. */
TEST(groups_that_do_not_fit)
{
    rllb_env_server_desc servers[12];
    ex_group groups[EX_GROUPS_MAX];
    rllb_env_flows_desc d;
    int32_t of[12], i, sum = 0;

    memset(servers, 0, sizeof servers);
    for (i = 0; i < 12; i++) servers[i].cpus = i + 1;
    rllb_env_flows_desc_default(&d);
    d.servers = servers;
    d.count = 12;
    CHECK_EQ_I(ex_flows_groups(&d, groups, of), EX_GROUPS_MAX);
    CHECK_EQ_I(of[11], EX_GROUPS_MAX - 1);
    for (i = 0; i < EX_GROUPS_MAX; i++) sum += groups[i].servers;
    CHECK_EQ_I(sum, 12);
}

/* A new file with that text; its name goes to path. */
static bool file_with(char path[64], const char *text)
{
    size_t size = strlen(text);
    int file;
    bool ok;

    snprintf(path, 64, "/tmp/rllb-simulate-XXXXXX");
    file = mkstemp(path);
    if (file < 0) return false;
    ok = write(file, text, size) == (ssize_t)size;
    return close(file) == 0 && ok;
}

/* Amounts: a round takes as long as asked for. Requests keep their times, which the rate scales. */
TEST(traces_take_their_time)
{
    ex_flows_how how = { .preset = RLLB_ENV_PRESET_MODERATE, .round_s = 40 };
    char path[64];
    ex_flows f;

    how.trace_path = path;
    REQUIRE(file_with(path, "time,value\n0,1\n300,3\n600,2\n900,2\n"));
    REQUIRE(ex_flows_open(&f, &how));
    CHECK_NEAR(f.trace->time_s[1], 10, 1e-9);
    CHECK_NEAR(f.trace->time_s[3], 30, 1e-9);
    ex_flows_close(&f);
    unlink(path);
    REQUIRE(file_with(path, "time,work\n0,1\n300,3\n600,2\n"));
    REQUIRE(ex_flows_open(&f, &how));
    CHECK_NEAR(f.trace->time_s[1], 300, 1e-9);
    ex_flows_close(&f);
    unlink(path);
}

/* ---- runs ---------------------------------------------------------------------------------------------------- */

static ex_cell one_cell(rllb_env_server_desc *server, double rho, double duration_s)
{
    rllb_env_flows_desc d;
    ex_cell c;

    memset(server, 0, sizeof *server);
    rllb_env_flows_desc_default(&d);
    d.servers = server;
    d.count = 1;
    d.work_s = 0.01;
    d.rate = rho / d.work_s;
    d.seed = 1;
    ex_cell_default(&c, &d, duration_s);
    return c;
}

/* M/M/1 at half load: durations are exponential with mean 20 ms, half the time the server works, and its residual time
   is that of a queue whose work is 10 ms on average. 200,000 flows in chains as long as busy periods: within 3 %. */
TEST(figures_of_a_queue_that_is_known)
{
    rllb_env_server_desc server;
    ex_cell c = one_cell(&server, 0.5, 4000);
    int32_t i;

    c.look_s = 0.1;
    REQUIRE(ex_cell_run(&c));
    NOTE("mean %.5f, P50 %.5f, P90 %.5f, P99 %.5f, residual %.5f, busy %.4f", c.value[EX_FLOW_MEAN],
         c.value[EX_FLOW_P50], c.value[EX_FLOW_P90], c.value[EX_FLOW_P99], c.value[EX_FLOW_RESIDUAL_MEAN], c.busy[0]);
    CHECK_NEAR(c.value[EX_FLOW_MEAN], 0.02, 0.0006);
    CHECK_NEAR(c.value[EX_FLOW_P50], 0.02 * log(2), 0.03 * 0.02 * log(2));
    CHECK_NEAR(c.value[EX_FLOW_P90], 0.02 * log(10), 0.03 * 0.02 * log(10));
    CHECK_NEAR(c.value[EX_FLOW_P99], 0.02 * log(100), 0.05 * 0.02 * log(100));
    CHECK_NEAR(c.value[EX_FLOW_RESIDUAL_MEAN], 0.01, 0.0005);
    CHECK_NEAR(c.busy[0], 0.5, 0.015);
    CHECK_NEAR(c.value[EX_FLOW_JAIN], 1, 1e-9); /* of one server */
    CHECK_NEAR(c.value[EX_FLOW_COMPLETED], 0.9 * 4000 * 50, 4 * sqrt(0.9 * 4000 * 50));
    CHECK_EQ_I(c.groups, 1);
    for (i = 1; i < EX_FLOW_QUANTILES; i++) CHECK(c.quantile[i] >= c.quantile[i - 1]);
    CHECK_NEAR((double)c.quantile[100], c.value[EX_FLOW_P50], 1e-6);
    CHECK_EQ_I(c.bins, 0);
}

/* Nothing is lost between flows, figures and series; and a world in which nothing ends has no mean. */
TEST(figures_add_up)
{
    rllb_env_server_desc server;
    ex_cell c = one_cell(&server, 1.5, 30);
    double completed = 0, lost = 0;
    rllb_env_flows *w;
    rllb_env_flows_info info;
    int32_t i;

    server.most = 20;
    c.warmup = 0;
    c.wants_series = true;
    REQUIRE(ex_cell_run(&c));
    w = rllb_env_flows_create(&c.desc);
    REQUIRE(w != NULL);
    rllb_env_flows_run(w, 30);
    rllb_env_flows_query(w, &info);
    CHECK_NEAR(c.value[EX_FLOW_COMPLETED], (double)info.completed, 0);
    CHECK_NEAR(c.value[EX_FLOW_REJECTED], (double)info.rejected, 0);
    CHECK_NEAR(c.value[EX_FLOW_IN_FLIGHT], (double)info.in_flight, 0);
    CHECK_NEAR(c.value[EX_FLOW_MEAN], info.duration_sum_s / (double)info.completed, 1e-9);
    CHECK(info.rejected > 1000);
    REQUIRE(c.bins == 60);
    for (i = 0; i < c.bins; i++) {
        completed += c.bin_s * c.series[EX_COLUMN_COMPLETED * c.bins + i];
        lost += c.bin_s * c.series[EX_COLUMN_REJECTED * c.bins + i];
    }
    CHECK_NEAR(completed, (double)info.completed, 1e-6);
    CHECK_NEAR(lost, (double)info.rejected, 1e-6);
    rllb_env_flows_destroy(w);
    free(c.series);

    c = one_cell(&server, 0.5, 2);
    c.desc.hop_s[0] = c.desc.hop_s[1] = 100;
    REQUIRE(ex_cell_run(&c));
    CHECK(isnan(c.value[EX_FLOW_MEAN]));
    CHECK(isnan(c.value[EX_FLOW_P99]));
    CHECK(isnan(ex_cells_estimate(&c, 1, EX_FLOW_MEAN).mean));
    CHECK_NEAR(c.value[EX_FLOW_COMPLETED], 0, 0);
}

enum { CELLS = 6 };

static ex_cell *some_cells(const ex_flows *world)
{
    static ex_balance p[EX_BALANCES_MAX];
    ex_cell *cells = calloc(CELLS, sizeof *cells);
    int32_t count, i;

    if (!cells || ex_balances_parse("policy", "sed,wcmp,prequal", p, &count) != EX_OK) return NULL;
    for (i = 0; i < CELLS; i++) {
        ex_cell_default(&cells[i], &world->desc, 10);
        ex_balance_apply(&p[i / 2], &cells[i].desc);
        cells[i].desc.seed = 1 + (uint64_t)(i & 1);
        cells[i].wants_series = true;
    }
    return cells;
}

static void check_same(const ex_cell *a, const ex_cell *b)
{
    CHECK(a->done && b->done);
    CHECK_MEM(a->value, b->value, sizeof a->value);
    CHECK_MEM(a->busy, b->busy, sizeof a->busy);
    CHECK_MEM(a->quantile, b->quantile, sizeof a->quantile);
    CHECK_EQ_I(a->bins, b->bins);
    CHECK_MEM(a->series, b->series, (size_t)a->bins * EX_FLOW_COLUMNS * sizeof *a->series);
}

/* In this process or in others, one, two or five at a time. */
TEST(runs_do_not_depend_on_how_many_there_are)
{
    ex_flows_how how = { .preset = RLLB_ENV_PRESET_MODERATE };
    ex_cell *sets[4];
    ex_estimate e;
    ex_flows f;
    int32_t i, k;

    REQUIRE(ex_flows_open(&f, &how));
    for (k = 0; k < 4; k++) {
        sets[k] = some_cells(&f);
        REQUIRE(sets[k] != NULL);
        if (k > 0) CHECK_EQ_I(ex_cells_run(sets[k], CELLS, k * k - 2 * k + 2, "testing", true), EX_GO_ON);
        for (i = 0; k == 0 && i < CELLS; i++) REQUIRE(ex_cell_run(&sets[0][i]));
    }
    for (k = 1; k < 4; k++) {
        for (i = 0; i < CELLS; i++) check_same(&sets[k][i], &sets[0][i]);
    }
    CHECK(sets[0][0].value[EX_FLOW_MEAN] < sets[0][1].value[EX_FLOW_MEAN] ||
          sets[0][0].value[EX_FLOW_MEAN] > sets[0][1].value[EX_FLOW_MEAN]); /* other seeds */

    /* Pairs: the mean of the differences is the difference of the means, its interval is narrower. */
    e = ex_cells_differ(&sets[0][2], &sets[0][0], 2, EX_FLOW_MEAN);
    CHECK_NEAR(e.mean, ex_cells_estimate(&sets[0][2], 2, EX_FLOW_MEAN).mean -
                           ex_cells_estimate(&sets[0][0], 2, EX_FLOW_MEAN).mean, 1e-12);
    CHECK(e.low < e.mean && e.mean < e.high);
    CHECK(isnan(ex_cells_estimate(&sets[0][0], 1, EX_FLOW_MEAN).low));
    CHECK_NEAR(ex_cells_busy(&sets[0][0], 2, 1).mean, (sets[0][0].busy[1] + sets[0][1].busy[1]) / 2, 1e-12);
    for (k = 0; k < 4; k++) ex_cells_free(sets[k], CELLS);
    ex_flows_close(&f);
}
