/* The companion of HAProxy without sockets: what it reads, and what it decides by that. */

#include "../examples/haproxy/lines.c"
#include "../examples/haproxy/mind.c"

#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

/* ---- log lines -------------------------------------------------------------------------------------------------- */

static hx_line read_log(const char *line, hx_log *out)
{
    size_t n = strlen(line);
    char *exact = malloc(n + 1); /* so that a step outside is seen */
    hx_line kind;

    if (!exact) abort();
    memcpy(exact, line, n);
    kind = hx_log_read("be", exact + 0, n, out);
    free(exact);
    return kind;
}

/* As HAProxy 2.6 sends it with `option httplog`. */
static const char httplog[] = "<134>Nov 21 10:00:00 haproxy[77]: 127.0.0.1:4711 [21/Nov/2026:10:00:00.123] f be/s1 "
                              "1/2/3/4/15 200 31 - - ---- 1/2/3/4/0 5/6 \"GET / HTTP/1.1\"";
static const char own[] = "be/s-2.x 0/0/0/7/7 503 SC-- 1/1/1/0/+3 0/0";

TEST(log_lines)
{
    hx_log l;

    CHECK_EQ_I(read_log(httplog, &l), HX_LINE_TAKEN);
    CHECK_STR(l.server, "s1");
    CHECK(l.tr == 1 && l.tw == 2 && l.tc == 3 && l.tresponse == 4 && l.ta == 15);
    CHECK(l.status == 200 && l.cause == '-' && l.at_server == 4 && l.queued == 6);
    CHECK_EQ_I(read_log(own, &l), HX_LINE_TAKEN);
    CHECK_STR(l.server, "s-2.x");
    CHECK(l.status == 503 && l.cause == 'S' && l.at_server == 0);
    CHECK_EQ_I(read_log("be/s1 0/0/1/-1/30001 504 sH-- 1/1/1/1/0 0/0\n", &l), HX_LINE_TAKEN);
    CHECK(l.tresponse == -1 && l.ta == 30001 && l.cause == 's');
    CHECK_EQ_I(read_log("be/s1 -1/-1/-1/-1/5 -1 CR-- 1/1/1/1/0 0/0", &l), HX_LINE_TAKEN);
    CHECK_EQ_I(read_log("be/<NOSRV> 0/-1/-1/-1/0 503 SC-- 1/1/0/0/0 0/0", &l), HX_LINE_OTHER);
    CHECK_EQ_I(read_log("other/s1 0/0/1/2/3 200 ---- 1/1/1/1/0 0/0", &l), HX_LINE_OTHER);
    CHECK_EQ_I(read_log("bee/s1 0/0/1/2/3 200 ---- 1/1/1/1/0 0/0", &l), HX_LINE_OTHER);
    CHECK_EQ_I(read_log("", &l), HX_LINE_OTHER);
}

/* What is cut off or does not fit is refused, and never half believed. */
TEST(log_lines_refused)
{
    static const char *const wrong[] = {
        "be/ 0/0/1/2/3 200 ---- 1/1/1/1/0 0/0", "be/a\001b 0/0/1/2/3 200 ---- 1/1/1/1/0 0/0",
        "be/s1 0/0/1/2/+3 200 ---- 1/1/1/1/0 0/0", /* logasap: no whole duration */
        "be/s1 0/0/1/2/-2 200 ---- 1/1/1/1/0 0/0", "be/s1 0/0/1/2/-10 200 ---- 1/1/1/1/0 0/0",
        "be/s1 0/0/1/2/9999999999 200 ---- 1/1/1/1/0 0/0", "be/s1 0/0/1/2 200 ---- 1/1/1/1/0 0/0",
        "be/s1 0/0/1/2/3 200 31 c=1 - ---- 1/1/1/1/0 0/0", /* a captured cookie: the client's words */
        "be/s1 0/0/1/2/3 200 ------ 1/1/1/1/0 0/0", "be/s1 0/0/1/2/3 200 ---- 1/1/1/1/0 0/0x",
        "be/s1 0/0/1/2/3 200 ---- 1/1/1/1/0 0/-1", "be/s1  0/0/1/2/3 200 ---- 1/1/1/1/0 0/0",
    };
    char cut[sizeof httplog];
    hx_log l;
    size_t i, whole = strlen(own);

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (read_log(wrong[i], &l) != HX_LINE_WRONG) NOTE("%s", wrong[i]);
        CHECK_EQ_I(read_log(wrong[i], &l), HX_LINE_WRONG);
    }
    for (i = 0; i < whole; i++) {
        memcpy(cut, own, i);
        cut[i] = '\0';
        CHECK(read_log(cut, &l) != HX_LINE_TAKEN);
    }
}

/* The first place that names the backend counts: what clients wrote comes later and says nothing. */
TEST(log_lines_forged)
{
    char line[600];
    hx_log l;

    snprintf(line, sizeof line, "%s be/s2 0/0/0/0/99999 200 ---- 1/1/1/1/0 0/0", httplog);
    CHECK_EQ_I(read_log(line, &l), HX_LINE_TAKEN);
    CHECK_STR(l.server, "s1");
    snprintf(line, sizeof line, "be/s1 0/0/x %s", own);
    CHECK_EQ_I(read_log(line, &l), HX_LINE_WRONG);
}

/* ---- statistics ------------------------------------------------------------------------------------------------- */

static const char info[] = "Name: HAProxy\nVersion: 2.6.12\nPid: 4711\nUptime_sec: 5\n\n";
static const char stat_head[] = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,"
                                "wretr,wredis,status,weight,act,bck,type,desc,\n";
static const char state_head_line[] = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state "
                                      "srv_uweight srv_iweight srv_port\n";

static bool read_report(const char *text, hx_report *r)
{
    size_t n = strlen(text);
    char *exact = malloc(n + 1), why[120];
    bool ok;

    if (!exact) abort();
    memcpy(exact, text, n);
    ok = hx_report_read("be", exact, n, r, why);
    CHECK(ok == (why[0] == '\0'));
    free(exact);
    return ok;
}

TEST(reports)
{
    static hx_report r;
    char text[4000], name[120];

    snprintf(text, sizeof text, "%s%s"
             "be,s1,1,9,2,9,,70,0,0,,0,,0,0,0,3,UP,16,1,0,2,\"a, \"\"b\"\"\n"
             "be,s2,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,1,0,1,2,,\n"
             "be,s3,,,,,,,,,,,,,,,,MAINT,1,0,0,2,,\nbe,BACKEND,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,0,0,1,,\n"
             "xx,s9,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,0,0,2,,\n\n%s3 be 1 s1 127.0.0.1 2 0 77 16 80\n"
             "3 be 2 s2 127.0.0.1 0 0 1 1 80\n3 be 3 s3 - 2 4 1 1 0\n3 xx 9 s9 - 2 0 9 9 0\n",
             info, stat_head, state_head_line);
    CHECK(read_report(text, &r));
    REQUIRE(r.count == 3);
    CHECK_EQ_I(r.pid, 4711);
    CHECK_STR(r.server[0].name, "s1");
    CHECK(r.server[0].in_flight == 2 && r.server[0].waiting == 1 && r.server[0].total == 70);
    CHECK(r.server[0].redispatched == 3 && r.server[0].running && r.server[0].ready && !r.server[0].backup);
    CHECK(r.server[0].weight == 77 && r.server[0].configured == 16);
    CHECK(r.server[1].backup && !r.server[1].running && r.server[1].ready);
    CHECK(r.server[2].running && !r.server[2].ready);
    memset(name, 'n', sizeof name); /* a longer name than we know */
    name[80] = '\0';
    snprintf(text, sizeof text, "%s%sbe,%s,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,16,1,0,2,,\n"
             "be,ok,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,2,,\n%s3 be 2 ok - 2 0 1 1 0\n", info, stat_head, name,
             state_head_line);
    CHECK(read_report(text, &r));
    CHECK(r.count == 1 && r.left_out == 1);
}

/* Columns are found by name: other versions have more, elsewhere. */
TEST(report_columns)
{
    static hx_report r;
    char text[2000];

    snprintf(text, sizeof text, "Pid: 1\n# pxname,svname,new,type,bck,wredis,stot,scur,qcur,-\nbe,a,9,2,0,4,3,2,1,\n"
             "# srv_iweight new srv_uweight srv_admin_state srv_op_state be_name srv_name\n5 9 6 0 2 be a\n");
    CHECK(read_report(text, &r));
    REQUIRE(r.count == 1);
    CHECK(r.server[0].in_flight == 2 && r.server[0].waiting == 1 && r.server[0].total == 3);
    CHECK(r.server[0].weight == 6 && r.server[0].configured == 5 && r.server[0].redispatched == 4);
}

TEST(reports_refused)
{
    static const char *const wrong[] = {
        "", "\n", "Pid: 7\n", "Pid: 7\nNo such proxy.\n",
        "# pxname,svname,type,bck,wredis,stot,scur,qcur\nbe,a,2,0,4,3,2,1\n"
        "# srv_iweight srv_uweight srv_admin_state srv_op_state be_name srv_name\n5 6 0 2 be a\n", /* no Pid */
        "Pid: 7\n# pxname,svname,type,bck,wredis,stot,scur,qcur\nbe,a,2,0,4,3,2,1\n",              /* no states */
        "Pid: 7\n# pxname,svname,type,bck,wredis,stot,scur\nbe,a,2,0,4,3,2\n"                      /* no qcur */
        "# srv_iweight srv_uweight srv_admin_state srv_op_state be_name srv_name\n5 6 0 2 be a\n",
        "Pid: 7\n# pxname,svname,type,bck,wredis,stot,scur,qcur\nbe,a,2,0,4,3,2,-1\n"              /* qcur is wrong */
        "# srv_iweight srv_uweight srv_admin_state srv_op_state be_name srv_name\n5 6 0 2 be a\n",
        "Pid: 7\n# pxname,svname,type,bck,wredis,stot,scur,qcur\nbe,a,2,0,4,3,2,1\n"               /* weight 257 */
        "# srv_iweight srv_uweight srv_admin_state srv_op_state be_name srv_name\n5 257 0 2 be a\n",
    };
    static hx_report r;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (read_report(wrong[i], &r)) NOTE("%d", (int)i);
        CHECK(!read_report(wrong[i], &r));
    }
}

TEST(agent_lines)
{
    char name[HX_NAME_MOST], much[HX_NAME_MOST + 1];

    CHECK_EQ_I(hx_agent_read("s1\n", 3, name), 1);
    CHECK_STR(name, "s1");
    CHECK_EQ_I(hx_agent_read("s1\r\nmore", 8, name), 1);
    CHECK_EQ_I(hx_agent_read("s1", 2, name), 0);
    CHECK_EQ_I(hx_agent_read("", 0, name), 0);
    CHECK_EQ_I(hx_agent_read("\n", 1, name), -1);
    CHECK_EQ_I(hx_agent_read("s 1\n", 4, name), -1);
    CHECK_EQ_I(hx_agent_read("s;1\n", 4, name), -1);
    memset(much, 'a', sizeof much);
    CHECK_EQ_I(hx_agent_read(much, HX_NAME_MOST, name), -1);
}

/* ---- deciding --------------------------------------------------------------------------------------------------- */

enum { N = 4 };

typedef struct site {
    hx_mind *mind;
    hx_report report;
    double now_s;
    char line[HX_COMMAND_MOST + 1];
    int32_t count; /* weights in the line */
} site;

static void site_servers(site *s)
{
    int32_t j;

    memset(s, 0, sizeof *s);
    s->report.pid = 1;
    s->report.count = N;
    for (j = 0; j < N; j++) {
        hx_server *v = &s->report.server[j];
        snprintf(v->name, sizeof v->name, "s%d", (int)j);
        v->weight = v->configured = 100;
        v->running = v->ready = true;
    }
}

static hx_setup setup_of(const char *policy, const char *state)
{
    hx_setup u;

    memset(&u, 0, sizeof u);
    u.policy = policy;
    u.state = state;
    u.backend = "be";
    u.interval_s = 0.25;
    u.blend = 1;
    u.floor = 0.01;
    u.ceiling = 100;
    return u;
}

static bool site_open(site *s, const char *policy, const char *state)
{
    hx_setup u = setup_of(policy, state);

    site_servers(s);
    s->mind = hx_mind_create(&u);
    return s->mind && hx_mind_report(s->mind, &s->report, s->now_s);
}

static void site_close(site *s)
{
    hx_mind_destroy(s->mind);
}

static void ends_after(site *s, int32_t j, int32_t ms, int32_t status, char cause)
{
    char line[200];

    snprintf(line, sizeof line, "be/s%d 0/0/0/%d/%d %d %c--- 1/1/1/1/0 0/0", (int)j, (int)ms, (int)ms, (int)status,
             cause);
    s->report.server[j].total++;
    hx_mind_line(s->mind, line, strlen(line), s->now_s);
}

/* HAProxy takes what it is sent, but of servers it says so itself. */
static void apply(site *s, bool configured)
{
    char name[HX_NAME_MOST];
    const char *at = s->line;
    int weight, j;

    hx_mind_commands(s->mind, configured, s->line, &s->count);
    for (; s->count && at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
        bool whole = sscanf(at, "set weight be/%63[^ ] %d", name, &weight) == 2 && sscanf(name, "s%d", &j) == 1;
        CHECK(whole && j >= 0 && j < N);
        if (!whole || j < 0 || j >= N) return;
        CHECK(weight >= 0 && weight <= 256);
        CHECK(s->report.server[j].ready && !s->report.server[j].backup);
        s->report.server[j].weight = weight;
    }
    if (s->count) hx_mind_taken(s->mind, configured);
}

static void interval(site *s)
{
    s->now_s += 0.25;
    CHECK(hx_mind_report(s->mind, &s->report, s->now_s));
    hx_mind_tick(s->mind, s->now_s);
    apply(s, false);
}

static int32_t weight(const site *s, int32_t j)
{
    return s->report.server[j].weight;
}

/* Twenty requests a second each, of so many milliseconds. */
static void serve(site *s, double seconds, const int32_t *ms)
{
    int32_t i, j, n = (int32_t)(4 * seconds);

    for (i = 0; i < n; i++) {
        for (j = 0; j < 5 * N; j++) {
            if (s->report.server[j % N].running) ends_after(s, j % N, ms[j % N], 200, '-');
        }
        interval(s);
    }
}

TEST(only_policies_that_find_weights)
{
    hx_setup u = setup_of("sed", NULL);
    hx_mind *m;
    int32_t i, made = 0;

    for (i = 0; i < RLLB_BALANCE_NUM; i++) {
        u.policy = rllb_balance_name((rllb_balance)i);
        m = hx_mind_create(&u);
        made += m != NULL;
        hx_mind_destroy(m);
    }
    CHECK_EQ_I(made, 4);
    u.policy = "learned";
    u.model = "no/such/file";
    CHECK(hx_mind_create(&u) == NULL);
}

/* A server that takes four times as long ends with less; the greatest is 256, the others keep their ratios. */
TEST(slow_one_gets_less)
{
    static const char *const policies[] = { "learned", "equalise", "hlb" };
    static const int32_t ms[N] = { 20, 80, 20, 20 };
    static site s;
    int32_t i;

    for (i = 0; i < 3; i++) {
        REQUIRE(site_open(&s, policies[i], NULL));
        serve(&s, 20, ms);
        NOTE("%s: %d %d %d %d", policies[i], (int)weight(&s, 0), (int)weight(&s, 1), (int)weight(&s, 2),
             (int)weight(&s, 3));
        CHECK(weight(&s, 1) < 200 && weight(&s, 1) >= 1);
        CHECK(weight(&s, 0) > 225 && weight(&s, 2) > 225 && weight(&s, 3) > 225);
        CHECK(weight(&s, 0) == 256 || weight(&s, 2) == 256 || weight(&s, 3) == 256);
        CHECK_EQ_U(hx_mind_counts(s.mind)->ended, 80 * 20);
        CHECK_EQ_U(hx_mind_counts(s.mind)->lines, 80 * 20);
        site_close(&s);
    }
}

/* AWCMP goes by how many are in flight. */
TEST(awcmp_by_requests_in_flight)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;

    REQUIRE(site_open(&s, "awcmp", NULL));
    s.report.server[2].in_flight = 8;
    s.report.server[2].waiting = 2;
    serve(&s, 5, ms);
    CHECK(weight(&s, 2) < 128);
    CHECK(weight(&s, 0) == 256);
    site_close(&s);
}

/* Whatever the lines say, floor and ceiling hold. */
TEST(lies_stay_between_floor_and_ceiling)
{
    static const int32_t ms[N] = { 0, 999999999, 0, 1 };
    static site s;
    hx_setup u = setup_of("equalise", NULL);
    int32_t i, j;

    site_servers(&s);
    u.floor = 0.25;
    u.ceiling = 2;
    s.mind = hx_mind_create(&u);
    REQUIRE(s.mind != NULL);
    for (i = 0; i < 60; i++) {
        serve(&s, 5, ms);
        for (j = 0; j < N; j++) {
            double w = (double)info_of(s.mind, j).weight_in_force;
            CHECK(w >= 0.25 - 1e-4 && w <= 2 + 1e-4);
            CHECK(weight(&s, j) >= 32 && weight(&s, j) <= 256); /* 0.25 : 2 = 32 : 256 */
        }
    }
    CHECK(weight(&s, 1) < weight(&s, 0));
    site_close(&s);
}

/* Nor do statistics that lie, however large. */
TEST(lying_statistics)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;
    hx_setup u = setup_of("awcmp", NULL);
    int32_t i, j;

    site_servers(&s);
    u.floor = 0.25;
    u.ceiling = 2;
    s.mind = hx_mind_create(&u);
    REQUIRE(s.mind != NULL);
    for (i = 0; i < 20; i++) {
        s.report.server[1].in_flight = s.report.server[1].waiting = i % 3 ? 400000000 : 0;
        s.report.server[2].total = i % 2 ? 999999999999999 : 0;
        s.report.server[2].redispatched = i % 2 ? 0 : 999999999999999;
        serve(&s, 1, ms);
        for (j = 0; j < N; j++) CHECK(weight(&s, j) >= 32 && weight(&s, j) <= 256);
        CHECK(info_of(s.mind, 1).in_flight <= 100000);
    }
    CHECK_NEAR(info_of(s.mind, 1).weight_in_force, 0.25, 1e-3); /* the least there is, and no less */
    site_close(&s);
}

/* Fails fast: out at once, not at the next interval; back on trial, one failure ends that; well again, it serves. */
TEST(failing_one_is_left)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;
    int32_t i, trials = 0;

    REQUIRE(site_open(&s, "learned", NULL));
    serve(&s, 3, ms);
    for (i = 0; i < 5; i++) ends_after(&s, 3, 1, 500, '-');
    CHECK(hx_mind_urgent(s.mind));
    apply(&s, false);
    CHECK_EQ_I(weight(&s, 3), 0);
    CHECK(!hx_mind_urgent(s.mind));
    for (i = 0; i < 80; i++) {
        interval(&s);
        CHECK(weight(&s, 3) <= 1);
        if (weight(&s, 3) == 0) continue;
        trials++;
        ends_after(&s, 3, 1, 502, 'S');
        CHECK(hx_mind_urgent(s.mind));
        apply(&s, false);
        CHECK_EQ_I(weight(&s, 3), 0);
    }
    NOTE("%d trials in 20 s", (int)trials);
    CHECK(trials >= 3 && trials <= 6); /* after 1, 2, 4, 8 s ... */
    for (i = 0; i < 40 && weight(&s, 3) == 0; i++) interval(&s);
    CHECK_EQ_I(weight(&s, 3), 1);
    ends_after(&s, 3, 20, 200, '-');
    for (i = 0; i < 4; i++) {
        serve(&s, 5, ms);
        NOTE("%d s later %d", (int)(5 * i + 5), (int)weight(&s, 3));
    }
    CHECK(weight(&s, 3) > 180); /* what its failures taught takes a while to forget */
    CHECK(info_of(s.mind, 3).ejections >= 4);
    site_close(&s);
}

/* HAProxy took the weight 0, only its answer did not get here: nobody drains that server, and it comes back. */
TEST(lost_answer)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;
    int32_t i;

    REQUIRE(site_open(&s, "learned", NULL));
    serve(&s, 3, ms);
    for (i = 0; i < 5; i++) ends_after(&s, 3, 1, 500, '-');
    hx_mind_commands(s.mind, false, s.line, &s.count);
    CHECK_STR(s.line, "set weight be/s3 0\n");
    s.report.server[3].weight = 0;
    for (i = 0; i < 40 && weight(&s, 3) == 0; i++) interval(&s);
    CHECK_EQ_I(weight(&s, 3), 1);
    site_close(&s);
}

/* When all fail, not more than half are taken out. */
TEST(half_stay)
{
    static site s;
    int32_t i, j, out;

    REQUIRE(site_open(&s, "learned", NULL));
    interval(&s);
    for (i = 0; i < 100; i++) {
        for (j = 0; j < 10 * N; j++) ends_after(&s, j % N, 1, 503, 'S');
        apply(&s, false);
        interval(&s);
        for (out = j = 0; j < N; j++) out += weight(&s, j) == 0;
        CHECK(out <= N / 2);
    }
    site_close(&s);
}

/* The client's fault is nobody's; of a server that could not be reached no line tells, but the statistics do. */
TEST(whose_fault)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;
    int32_t i;

    REQUIRE(site_open(&s, "learned", NULL));
    serve(&s, 2, ms);
    for (i = 0; i < 50; i++) ends_after(&s, 0, 20, i % 2 ? 503 : -1, i % 3 ? 'C' : 'P');
    interval(&s);
    CHECK_EQ_U(info_of(s.mind, 0).failed, 0);
    s.report.server[1].redispatched = 7;
    interval(&s);
    CHECK_EQ_U(info_of(s.mind, 1).failed, 7);
    CHECK_EQ_I(weight(&s, 1), 0);
    CHECK_EQ_I(info_of(s.mind, 1).in_flight, 0);
    for (i = 0; i < 10; i++) ends_after(&s, 2, 20, 501, '-'); /* says what it cannot do */
    interval(&s);
    CHECK_EQ_U(info_of(s.mind, 2).failed, 0);
    site_close(&s);
}

/* What the operator took out is left alone (apply() checks that nothing is sent), and comes back. */
TEST(operator_is_honoured)
{
    static const int32_t ms[N] = { 20, 20, 20, 90 };
    static site s;

    REQUIRE(site_open(&s, "learned", NULL));
    s.report.server[0].ready = false;   /* maintenance, or drained */
    s.report.server[1].backup = true;
    serve(&s, 10, ms);
    CHECK(weight(&s, 0) == 100 && weight(&s, 1) == 100);
    NOTE("%d", (int)weight(&s, 3));
    CHECK(weight(&s, 3) < 200);
    s.report.server[0].ready = true;
    serve(&s, 10, ms);
    NOTE("%d", (int)weight(&s, 0));
    CHECK(weight(&s, 0) > 225);
    s.report.server[2].weight = 0;      /* set weight be/s2 0, by hand */
    serve(&s, 3, ms);
    CHECK_EQ_I(weight(&s, 2), 0);
    s.report.server[2].weight = 50;
    serve(&s, 10, ms);
    CHECK(weight(&s, 2) > 225);
    s.report.server[2].weight = 17;     /* any other weight is ours to set */
    interval(&s);
    CHECK(weight(&s, 2) > 225);
    site_close(&s);
}

TEST(restart_of_haproxy)
{
    static const int32_t ms[N] = { 20, 90, 20, 20 };
    static site s;
    int32_t before, j;

    REQUIRE(site_open(&s, "equalise", NULL));
    serve(&s, 60, ms);
    before = weight(&s, 1);
    CHECK(before < 200);
    s.report.pid = 2;
    for (j = 0; j < N; j++) {
        s.report.server[j].weight = 100;
        s.report.server[j].total = 0;
    }
    interval(&s);
    CHECK(abs(weight(&s, 1) - before) <= 8);
    CHECK_EQ_U(hx_mind_counts(s.mind)->restarts, 1);
    CHECK_EQ_U(hx_mind_counts(s.mind)->ended, 60 * 80);
    site_close(&s);
}

TEST(servers_come_and_go)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;
    int32_t i;

    REQUIRE(site_open(&s, "learned", NULL));
    s.report.count = 2;
    for (i = 0; i < 3; i++) interval(&s);
    s.report.count = N;
    s.report.server[3].in_flight = 6;
    s.now_s += 0.05;
    CHECK(hx_mind_report(s.mind, &s.report, s.now_s)); /* between two decisions */
    apply(&s, false);
    CHECK_EQ_I(s.count, 0);
    interval(&s);
    serve(&s, 12, ms);
    CHECK(weight(&s, 3) > 128);
    CHECK_EQ_I(info_of(s.mind, seat_of(s.mind, "s3")).in_flight, 6);
    s.report.count = 3;
    interval(&s);
    CHECK_EQ_I(seat_of(s.mind, "s3"), -1);
    ends_after(&s, 3, 20, 200, '-'); /* a late line */
    CHECK_EQ_U(hx_mind_counts(s.mind)->unknown, 1);
    site_close(&s);
}

/* No lines though requests end: the configured weights, until lines come again. */
TEST(deaf)
{
    static const int32_t ms[N] = { 20, 90, 20, 20 };
    static site s;
    int32_t i;

    REQUIRE(site_open(&s, "equalise", NULL));
    serve(&s, 30, ms);
    CHECK(weight(&s, 1) < 225);
    s.report.server[0].total += 19;        /* counted late */
    for (i = 0; i < 60; i++) interval(&s); /* nothing ends: nothing is wrong */
    CHECK(weight(&s, 1) < 225);
    for (i = 0; i < 60; i++) {
        s.report.server[0].total += 3;
        interval(&s);
    }
    CHECK(weight(&s, 0) == 100 && weight(&s, 1) == 100);
    serve(&s, 1, ms);
    CHECK(weight(&s, 1) < 225 && weight(&s, 0) > 225);
    site_close(&s);
}

/* Blend: half of what was found. Back to the configured ones. */
TEST(blend_and_reset)
{
    static const int32_t ms[N] = { 20, 999, 20, 20 };
    static site s;
    hx_setup u = setup_of("equalise", NULL);

    site_servers(&s);
    u.blend = 0.1;
    s.mind = hx_mind_create(&u);
    REQUIRE(s.mind != NULL);
    serve(&s, 60, ms);
    CHECK(weight(&s, 1) >= 0.85 * 256 && weight(&s, 1) < 256);
    apply(&s, true);
    CHECK(weight(&s, 0) == 100 && weight(&s, 1) == 100);
    CHECK_EQ_I(hx_mind_percent(s.mind, "s0"), 256);
    CHECK_EQ_I(hx_mind_percent(s.mind, "s9"), -1);
    site_close(&s);
}

TEST(state_file)
{
    char path[200];
    static const int32_t ms[N] = { 20, 90, 20, 20 };
    static site s, again;
    int32_t before;
    FILE *f;

    snprintf(path, sizeof path, "build/test/haproxy-state-%ld", (long)getpid());
    remove(path);
    REQUIRE(site_open(&s, "equalise", path));
    serve(&s, 60, ms);
    before = weight(&s, 1);
    CHECK(hx_mind_save(s.mind, s.now_s));
    site_close(&s);
    REQUIRE(site_open(&again, "equalise", path));
    again.now_s = 0.05; /* another clock */
    CHECK(hx_mind_report(again.mind, &again.report, again.now_s));
    hx_mind_tick(again.mind, again.now_s); /* too soon for a decision: nothing is sent */
    apply(&again, false);
    CHECK_EQ_I(again.count, 0);
    CHECK_EQ_I(hx_mind_percent(again.mind, "s1"), 100);
    interval(&again);
    NOTE("%d, then %d", (int)before, (int)weight(&again, 1));
    CHECK(abs(weight(&again, 1) - before) <= 8);
    site_close(&again);
    CHECK(chmod(path, 0666) == 0);
    REQUIRE(site_open(&again, "equalise", path)); /* anybody may have written it */
    interval(&again);
    CHECK_EQ_I(weight(&again, 1), 256);
    site_close(&again);
    CHECK(chmod(path, 0600) == 0);
    REQUIRE(site_open(&again, "hlb", path)); /* of another policy */
    interval(&again);
    CHECK_EQ_I(weight(&again, 1), 256);
    site_close(&again);
    f = fopen(path, "r+b");
    REQUIRE(f != NULL);
    CHECK(fseek(f, 3000, SEEK_SET) == 0 && fputc(0x5a, f) == 0x5a && fclose(f) == 0);
    REQUIRE(site_open(&again, "equalise", path)); /* damaged */
    interval(&again);
    CHECK_EQ_I(weight(&again, 1), 256);
    site_close(&again);
    CHECK(truncate(path, 100) == 0);
    REQUIRE(site_open(&again, "equalise", path));
    interval(&again);
    CHECK_EQ_I(weight(&again, 1), 256);
    site_close(&again);
    remove(path);
}

TEST(status_text)
{
    static const int32_t ms[N] = { 20, 20, 20, 20 };
    static site s;
    size_t size;
    char *text;

    REQUIRE(site_open(&s, "learned", NULL));
    serve(&s, 2, ms);
    text = hx_mind_status(s.mind, s.now_s, &size);
    REQUIRE(text != NULL);
    CHECK_EQ_U(strlen(text), size);
    CHECK(strstr(text, "rllb_haproxy_lines_total 160\n") != NULL);
    CHECK(strstr(text, "rllb_haproxy_wanted{server=\"s3\"} ") != NULL);
    CHECK(strstr(text, "rllb_haproxy_deaf 0\n") != NULL);
    free(text);
    site_close(&s);
}
