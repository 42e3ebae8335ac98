/* What the proxy counts, writes down, and reads in the answers to its checks. The clock is the test's. */

#include "rllb.h"
#include "test.h"

#include "../examples/http/watch.c"

static double clock_s = 5000;

double px_now_s(void)
{
    return clock_s;
}

/* No policy here: servers are named by hand. */
rllb_balancer *px_policy_balancer(px_policy *p)
{
    (void)p;
    return NULL;
}

static px_proxy proxy;
static uv_loop_t loop;

static px_watch *watch_of(const char *log)
{
    px_watch *w;

    uv_loop_init(&loop);
    memset(&proxy, 0, sizeof proxy);
    proxy.loop = &loop;
    snprintf(proxy.config.access_log, sizeof proxy.config.access_log, "%s", log);
    w = px_watch_create(&proxy);
    if (w) snprintf(w->seat[3].name, sizeof w->seat[3].name, "three");
    return w;
}

static void finish(px_watch *w)
{
    px_watch_close(w);
    CHECK_EQ_I(uv_loop_close(&loop), 0);
}

static void seconds_pass(px_watch *w, int32_t n)
{
    for (; n > 0; n--) {
        clock_s += 1;
        each_second(&w->timer);
    }
}

static px_record record_of(double seconds, px_ending ending, const char *target)
{
    px_record r;

    memset(&r, 0, sizeof r);
    r.arrived_s = clock_s - seconds;
    r.ended_s = clock_s;
    r.server = 3;
    r.tries = 1;
    r.status = 200;
    r.ending = ending;
    r.bytes_in = 5;
    r.bytes_out = 7;
    r.method = "GET";
    r.client = "127.0.0.1";
    r.target.text = target;
    r.target.size = (int32_t)strlen(target);
    return r;
}

TEST(buckets_are_five_percent_wide)
{
    double s, worst = 0;

    for (s = 2e-5; s < 900; s *= 1.003) {
        double off = fabs(seconds_of(bucket_of(s)) / s - 1);
        if (off > worst) worst = off;
        CHECK(bucket_of(s * 1.06) > bucket_of(s) || bucket_of(s) == BUCKETS - 1);
    }
    CHECK(worst < 0.026);
    CHECK_EQ_I(bucket_of(0), 0);
    CHECK_EQ_I(bucket_of(-1), 0);
    CHECK_EQ_I(bucket_of((double)NAN), 0);
    CHECK_EQ_I(bucket_of(1e9), BUCKETS - 1);
    CHECK_EQ_I(bucket_of(HUGE_VAL), BUCKETS - 1);
}

TEST(quantiles_of_the_last_ten_seconds)
{
    px_watch *w = watch_of("");
    px_server_total s;
    px_total t;
    px_record r;
    int32_t i, k;

    REQUIRE(w);
    for (k = 0; k < 30; k++) {
        for (i = 1; i <= 1000; i++) { /* 1 ms to 1 s, evenly; ten times as slow in the first twenty seconds */
            double seconds = 1e-3 * i * (k < 20 ? 10 : 1);
            px_watch_attempt(w, 3, seconds, i % 10 ? RLLB_OUTCOME_OK : RLLB_OUTCOME_FAILED);
            r = record_of(seconds, i % 10 ? PX_ENDED_OK : PX_ENDED_CUT, "/");
            px_watch_request(w, &r);
        }
        px_watch_attempt(w, 3, 1, RLLB_OUTCOME_CANCELLED);
        seconds_pass(w, 1);
    }
    px_watch_server(w, 3, &s);
    px_watch_total(w, &t);
    CHECK_NEAR(s.late.p50_s, 0.5, 0.015);
    CHECK_NEAR(s.late.p99_s, 0.99, 0.03);
    CHECK_NEAR(t.late.p99_s, 0.99, 0.03);
    CHECK_NEAR(s.late.per_s, 1000, 1);
    CHECK_NEAR(s.late.failed_per_s, 100, 1);
    CHECK_NEAR(t.late.failed_per_s, 100, 1);
    CHECK_EQ_I(s.ok, 27000);
    CHECK_EQ_I(s.failed, 3000);
    CHECK_EQ_I(s.cancelled, 30);
    CHECK_EQ_I(t.ended[PX_ENDED_OK], 27000);
    CHECK_EQ_I(t.ended[PX_ENDED_CUT], 3000);
    CHECK_EQ_I(t.bytes_out, 210000);
    CHECK_NEAR(t.up_s, 30, 1e-6);
    seconds_pass(w, 11);
    px_watch_server(w, 3, &s);
    CHECK(isnan(s.late.p50_s));
    CHECK_NEAR(s.late.per_s, 0, 0);
    px_watch_attempt(w, -1, 1, RLLB_OUTCOME_OK); /* nobody */
    px_watch_attempt(w, PX_INDEXES_MOST, 1, RLLB_OUTCOME_OK);
    finish(w);
}

TEST(the_histogram_counts_all)
{
    static const double bounds[] = { 0.001, 0.01, 0.1, 1 };
    px_watch *w = watch_of("");
    uint64_t below[4];
    px_record r;
    int32_t i;

    REQUIRE(w);
    for (i = 0; i < 1000; i++) {
        r = record_of(i < 300 ? 0.005 : i < 900 ? 0.05 : 20, PX_ENDED_OK, "/");
        px_watch_request(w, &r);
    }
    px_watch_below(w, bounds, 4, below);
    CHECK_EQ_I(below[0], 0);
    CHECK_EQ_I(below[1], 300);
    CHECK_EQ_I(below[2], 900);
    CHECK_EQ_I(below[3], 900);
    finish(w);
}

/* ---- the access log -------------------------------------------------------------------------------------------- */

static const char *log_path(void)
{
    static char path[100];

    snprintf(path, sizeof path, "build/test/access-%ld.csv", (long)getpid());
    mkdir("build", 0777);
    mkdir("build/test", 0777);
    remove(path);
    return path;
}

static int32_t count_of(const char *text, char c)
{
    int32_t n = 0;

    for (; *text; text++) n += *text == c;
    return n;
}

TEST(a_line_a_request)
{
    const char *path = log_path(), *line;
    px_watch *w = watch_of(path);
    ex_text file = { NULL, 0, 0, false };
    px_record r = record_of(0.0125, PX_ENDED_OK, "/a?b=1");

    REQUIRE(w);
    px_watch_request(w, &r);
    r.target.text = "/,\"x\"\r\n1,evil,GET,\\\x80\x01";
    r.target.size = (int32_t)strlen(r.target.text);
    r.server = -1;
    r.ending = PX_ENDED_NO_SERVER;
    px_watch_request(w, &r);
    finish(w);
    REQUIRE(ex_file_read(path, 1 << 20, &file));
    CHECK(strncmp(file.data, header, sizeof header - 1) == 0);
    CHECK_EQ_I(count_of(file.data, '\n'), 3);
    line = strchr(strchr(file.data, '\n') + 1, ',');
    CHECK(strncmp(line, ",127.0.0.1,GET,/a?b=1,200,three,1,12.500,5,7,ok\n", 48) == 0);
    line = strchr(line, '\n');
    line = strchr(line, ',');
    CHECK_STR(line, ",127.0.0.1,GET,\"/,\"\"x\"\"\\x0d\\x0a1,evil,GET,\\x5c\\x80\\x01\",200,,1,12.500,5,7,no_server\n");
    ex_text_free(&file);
    remove(path);
}

TEST(numbers_as_printf_writes_them)
{
    static const double values[] = { 0, 0.0004, 0.0006, 0.9994, 0.9996, 1,
                                     9.5, 10, 123456.789, 1764000000.25, 99999999999 };
    char ours[40], theirs[40];
    int32_t i;

    for (i = 0; i < EX_COUNT(values); i++) {
        *put_thousandths(ours, values[i]) = '\0';
        snprintf(theirs, sizeof theirs, "%.3f", values[i]);
        CHECK_STR(ours, theirs);
        *put_whole(ours, (int64_t)values[i]) = '\0';
        snprintf(theirs, sizeof theirs, "%lld", (long long)values[i]);
        CHECK_STR(ours, theirs);
    }
    *put_thousandths(ours, (double)NAN) = '\0';
    CHECK_STR(ours, "0.000");
    *put_whole(ours, -5) = '\0';
    CHECK_STR(ours, "0");
}

/* The longest that a client can make of it, every byte of it escaped. */
TEST(long_targets_are_cut)
{
    const char *path = log_path();
    px_watch *w = watch_of(path);
    char target[9000], line[LINE_ROOM];
    px_record r;

    REQUIRE(w);
    memset(target, 1, sizeof target - 1);
    target[sizeof target - 1] = '\0';
    r = record_of(1, PX_ENDED_OK, target);
    r.client = r.method = target;
    CHECK(line_of(w, &r, line) < LINE_ROOM - 2000);
    finish(w);
    remove(path);
}

TEST(a_log_that_was_moved_is_begun_anew)
{
    const char *path = log_path();
    char moved[120];
    px_watch *w = watch_of(path);
    ex_text file = { NULL, 0, 0, false };
    px_record r = record_of(0.01, PX_ENDED_OK, "/");

    REQUIRE(w);
    snprintf(moved, sizeof moved, "%s.1", path);
    px_watch_request(w, &r);
    seconds_pass(w, 1);
    uv_run(&loop, UV_RUN_DEFAULT); /* until it is written */
    CHECK_EQ_I(rename(path, moved), 0);
    CHECK(px_watch_reload(w));
    px_watch_request(w, &r);
    px_watch_request(w, &r);
    finish(w);
    REQUIRE(ex_file_read(moved, 1 << 20, &file));
    CHECK_EQ_I(count_of(file.data, '\n'), 2);
    ex_text_free(&file);
    REQUIRE(ex_file_read(path, 1 << 20, &file));
    CHECK_EQ_I(count_of(file.data, '\n'), 3);
    ex_text_free(&file);
    remove(path);
    remove(moved);
}

/* A disk that takes nothing: lines are lost and counted, none waits. */
TEST(a_full_disk_stops_nothing)
{
    px_watch *w;
    px_record r = record_of(0.01, PX_ENDED_OK, "/some/where");
    px_total t;
    int32_t i;

    if (access("/dev/full", W_OK) != 0) SKIP("no /dev/full here");
    w = watch_of("/dev/full");
    REQUIRE(w);
    for (i = 0; i < 40000; i++) {
        px_watch_request(w, &r);
        if (i % 5000 == 0) {
            seconds_pass(w, 1);
            uv_run(&loop, UV_RUN_DEFAULT);
        }
    }
    px_watch_total(w, &t);
    NOTE("%llu taken, %llu lost", (unsigned long long)t.log_lines, (unsigned long long)t.log_lost);
    CHECK(t.log_lost > 0);
    CHECK(t.log_lines > 1000);
    CHECK_EQ_I(t.log_lines + t.log_lost, 40000);
    finish(w);
}

TEST(a_log_that_cannot_be_opened_is_refused)
{
    CHECK(watch_of("no/such/folder/log") == NULL);
    uv_loop_close(&loop);
}
