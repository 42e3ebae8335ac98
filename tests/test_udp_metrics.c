/* What the UDP allocator knows of its clients: every parser on good, cut, wrong and huge input; counters that wrap,
   begin anew, come twice or late; ages; HTTP that is slow, large, broken off or no HTTP; sources against a double in
   this program that plays InfluxDB 1, node_exporter and InfluxDB 2. Flux has no other peer here: what the double
   answers is the documented format, no more. tests/cli/udp_sources.sh asks a real InfluxDB 1 and node_exporter. */

#include "../examples/udp/table.c"
#include "../examples/udp/prometheus.c"
#include "../examples/udp/influx.c"
#include "../examples/udp/metrics.c"
#include "../examples/udp/web.c"
#include "../examples/udp/source.c"

#include "test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

#define NONE_F UD_NAN

static ud_reading got[UD_READINGS_MOST];
static char why[160];

typedef int32_t (*parser)(const char *text, size_t size, ud_reading *out, int32_t most, char why[160]);

static int32_t prometheus_of_a(const char *text, size_t size, ud_reading *out, int32_t most, char reason[160])
{
    (void)most;
    return ud_parse_prometheus("a", text, size, 5, out, reason);
}

/* In a block of exactly that size, so that a step outside is seen. */
static int32_t parse_bytes(parser p, const char *text, size_t size, int32_t most)
{
    char *exact = malloc(size + 1);
    int32_t count;

    if (!exact) abort();
    memcpy(exact + 1, text, size);
    memset(why, 'x', sizeof why);
    count = p(exact + 1, size, got, most, why);
    free(exact);
    return count;
}

static int32_t parse_text(parser p, const char *text)
{
    return parse_bytes(p, text, strlen(text), UD_READINGS_MOST);
}

/* The first reading of that host that says anything of it: 'c' processor, 'm' memory, 'n' network. */
static const ud_reading *reading_for(int32_t count, const char *host, char of)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        double said = of == 'c' ? got[i].cpu_percent : of == 'm' ? got[i].memory_percent : got[i].bytes_in;
        if (strcmp(got[i].host, host) == 0 && !isnan(said)) return &got[i];
    }
    return NULL;
}

/* What is written to stderr between the two calls. */
static FILE *said_file;
static int said_fd = -1;

static void said_begin(void)
{
    fflush(stderr);
    said_file = tmpfile();
    said_fd = dup(2);
    if (!said_file || said_fd < 0 || dup2(fileno(said_file), 2) < 0) abort();
}

static const char *said_end(void)
{
    static char text[4096];
    size_t n;

    fflush(stderr);
    dup2(said_fd, 2);
    close(said_fd);
    rewind(said_file);
    n = fread(text, 1, sizeof text - 1, said_file);
    text[n] = '\0';
    fclose(said_file);
    return text;
}

static int32_t times_in(const char *text, const char *word)
{
    int32_t n = 0;

    for (; (text = strstr(text, word)) != NULL; text += strlen(word)) n++;
    return n;
}

/* No prefix of a good text makes readings that the whole does not; or it does by the line, if `lines`. */
static void check_cuts(parser p, const char *text)
{
    static ud_reading whole[64];
    size_t size = strlen(text), i;
    int32_t all = parse_text(p, text), count, j, k;

    CHECK(all > 0 && all <= 64);
    memcpy(whole, got, (size_t)all * sizeof *whole);
    for (i = 0; i < size; i++) {
        count = parse_bytes(p, text, i, UD_READINGS_MOST);
        CHECK(count >= -1 && count <= all && memchr(why, 0, sizeof why));
        if (count < 0) CHECK(why[0]);
        if (i > 0 && text[i - 1] != '\n') CHECK_EQ_I(count, -1);
        for (j = 0; j < count; j++) {
            for (k = 0; k < all && strcmp(whole[k].host, got[j].host) != 0; k++) {}
            CHECK(k < all);
        }
    }
}

/* ---- times, tables ----------------------------------------------------------------------------------------------- */

TEST(times)
{
    static const char *const wrong[] = {
        "", "2026", "2026-11-22", "2026-11-22T01:02:03", "2026-11-22 01:02:03Z", "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-11-22T01:02:03Zx", "2026-11-22T01:02:03+0100", "2026-11-22T01:02:03+25:00", "2026-11-22T01:02:03-",
        "2026-11-22T01:02:03-05",
        "-026-11-22T01:02:03Z", "2026-11-22T01:02:03.5",
    };
    size_t i;

    CHECK_EQ_I(ud_time_of("1970-01-01T00:00:00Z"), 0);
    CHECK_EQ_I(ud_time_of("1999-12-31T23:59:59Z"), 946684799);
    CHECK_NEAR(ud_time_of("2000-02-29T12:34:56.5Z"), 951827696.5, 1e-6);
    CHECK_NEAR(ud_time_of("2026-11-22T01:02:03.123456789Z"), 1795309323.123456789, 1e-6);
    CHECK_EQ_I(ud_time_of("2100-03-01T00:00:00Z"), 4107542400);
    CHECK_EQ_I(ud_time_of("2026-11-22T03:02:03+02:00"), 1795309323);
    CHECK_EQ_I(ud_time_of("2026-11-21T19:32:03-05:30"), 1795309323);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *exact = malloc(strlen(wrong[i]) + 1); /* so that a step outside is seen */
        REQUIRE(exact != NULL);
        memcpy(exact, wrong[i], strlen(wrong[i]) + 1);
        if (!isnan(ud_time_of(exact))) NOTE("%s", exact);
        CHECK(isnan(ud_time_of(exact)));
        free(exact);
    }
}

static const char table[] = "# of a test\n"
                            "time_s,host,cpu,memory,bytes_in,bytes_out,remark\r\n"
                            "1000.5,a,12.5,40,1e6,2000000,\"a, \"\"b\"\"\n and more\"\r\n"
                            "\n"
                            ",b,,55,,,\n"
                            "1001,\"a,b\",100,0,0,18446744073709551615,x\n";

TEST(table_good)
{
    CHECK_EQ_I(parse_text(ud_parse_table, table), 3);
    CHECK_STR(got[0].host, "a");
    CHECK_NEAR(got[0].at_s, 1000.5, 0);
    CHECK(got[0].cpu_percent >= 12.5 && got[0].cpu_percent <= 12.5 && got[0].memory_percent >= 40);
    CHECK_NEAR(got[0].bytes_in, 1e6, 0);
    CHECK_NEAR(got[0].bytes_out, 2e6, 0);
    CHECK(isnan(got[0].idle_s) && isnan(got[0].all_s));
    CHECK_STR(got[1].host, "b");
    CHECK(isnan(got[1].at_s) && isnan(got[1].cpu_percent) && isnan(got[1].bytes_in));
    CHECK_NEAR(got[1].memory_percent, 55, 0);
    CHECK_STR(got[2].host, "a,b");
    CHECK_EQ_I(parse_text(ud_parse_table, ""), 0);
    CHECK_EQ_I(parse_text(ud_parse_table, "bytes_out,bytes_in,memory,cpu,host,time_s\n1,2,3,4,h,5\n"), 1);
    CHECK_NEAR(got[0].bytes_out, 1, 0);
    CHECK_NEAR(got[0].at_s, 5, 0);
}

#define HEAD "time_s,host,cpu,memory,bytes_in,bytes_out\n"

TEST(table_wrong)
{
    static const struct {
        const char *text, *why;
    } wrong[] = {
        { "time_s,host,cpu,memory,bytes_in\n", "1: no column bytes_out" },
        { HEAD "1,a,2,3,4\n", "2: 5 fields instead of 6" },
        { HEAD "1,a,2,3,4,5\n1,,2,3,4,5\n", "3: host '' is no name" },
        { HEAD "1,a,2,3,4,5\n\n1,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,2,3,4,5\n",
          "4: host 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is no name" },
        { HEAD "1,\"a\nb\",2,3,4,5\n", "2: host 'a\nb' is no name" },
        { HEAD "x,a,2,3,4,5\n", "2: time_s 'x' is no number" },
        { HEAD "1,a,nan,3,4,5\n", "2: cpu 'nan' is no number" },
        { HEAD "1,a,2,inf,4,5\n", "2: memory 'inf' is no number" },
        { HEAD "1,a,2,3,4 5,5\n", "2: bytes_in '4 5' is no number" },
        { HEAD "1,a,2,3,4,5", "2: cut off: no line end" },
        { HEAD "1,a,\"2,3,4,5\n", "2: a quote or line end out of place" },
        { HEAD "1,\"a\"b,2,3,4,5\n", "2: a quote or line end out of place" },
        { HEAD "1,a,2,3,4,5\rx\n", "2: a quote or line end out of place" },
    };
    static char many[200];
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQ_I(parse_text(ud_parse_table, wrong[i].text), -1);
        CHECK_STR(why, wrong[i].why);
    }
    CHECK_EQ_I(parse_bytes(ud_parse_table, "a\0b\n", 4, 8), -1);
    CHECK_STR(why, "not text: it has a zero byte");
    memset(many, ',', sizeof many - 1);
    CHECK_EQ_I(parse_text(ud_parse_table, many), -1);
    CHECK_STR(why, "1: too many columns");
    CHECK_EQ_I(parse_bytes(ud_parse_table, table, sizeof table - 1, 2), -1);
    CHECK_STR(why, "7: more than 2 readings");
    check_cuts(ud_parse_table, table);
}

/* ---- capacities -------------------------------------------------------------------------------------------------- */

TEST(capacities)
{
    static const char good[] = "# name, cores, memory, network\n\na, 4, 8e9, 125e6\r\n\"b,c\",0.5,1,2\n*,1,1e9,1e6";
    static const struct {
        const char *text, *why;
    } wrong[] = {
        { "a,4,8e9\n", "1: 3 fields instead of name,cores,memory bytes,bytes a second" },
        { "\na,4,8e9,1\n,1,1,1\n", "3: '' is no name" },
        { "a,0,1,1\n", "1: cores '0' is no number above 0" },
        { "a,1,-1,1\n", "1: memory '-1' is no number above 0" },
        { "a,1,1,1G\n", "1: bytes a second '1G' is no number above 0" },
        { "a,1,1,inf\n", "1: bytes a second 'inf' is no number above 0" },
        { "a,1,1,1\nb,1,1,1\na,2,2,2\n", "3: 'a' is there twice" },
        { "a,1,\"1,1\n", "1: a quote or line end out of place" },
        { "a,1,1,1\nb,1,1,1\nc,1,1,1\nd,1,1,1\n", "4: more than 3 clients" },
    };
    ud_capacity c[3];
    char text[160];
    size_t i;

    CHECK_EQ_I(ud_parse_capacity(good, sizeof good - 1, c, 3, text), 3);
    CHECK_STR(c[0].name, "a");
    CHECK_NEAR(c[0].cores, 4, 0);
    CHECK_NEAR(c[0].memory_bytes, 8e9, 0);
    CHECK_NEAR(c[0].bytes_s, 125e6, 0);
    CHECK_STR(c[1].name, "b,c");
    CHECK_STR(c[2].name, "*");
    CHECK_EQ_I(ud_parse_capacity("", 0, c, 3, text), 0);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQ_I(ud_parse_capacity(wrong[i].text, strlen(wrong[i].text), c, 3, text), -1);
        CHECK_STR(text, wrong[i].why);
    }
}

/* ---- node_exporter ----------------------------------------------------------------------------------------------- */

static const char node[] =
    "# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n"
    "# TYPE node_cpu_seconds_total counter\n"
    "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1000.5\n"
    "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 2\n"
    "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1.5e+02\n"
    "node_cpu_seconds_total{cpu=\"1\",mode=\"idle\",} 900\n"
    "node_cpu_seconds_total { cpu = \"1\" , mode = \"user\" } 250 1395066363000\n"
    "node_memory_MemAvailable_bytes 2.5e+09\n"
    "node_memory_MemTotal_bytes 1e+10\n"
    "node_network_receive_bytes_total{device=\"lo\"} 5e+12\n"
    "node_network_receive_bytes_total{device=\"eth0\"} 1.5e+06\n"
    "node_network_receive_bytes_total{device=\"eth\\\"1\\\\\\n\"} 500000\n"
    "node_network_transmit_bytes_total{device=\"lo\"} 5e+12\n"
    "node_network_transmit_bytes_total{device=\"eth0\"} 7\n"
    "node_network_transmit_bytes_total{device=\"eth1\"} 0\n"
    "node_something_else NaN\n"
    "go:recorded +Inf\n"
    "node_time_seconds 1.795309323e+09\n";

TEST(prometheus_good)
{
    CHECK_EQ_I(parse_text(prometheus_of_a, node), 1);
    CHECK_STR(got[0].host, "a");
    CHECK_NEAR(got[0].idle_s, 1900.5, 1e-9);
    CHECK_NEAR(got[0].all_s, 2302.5, 1e-9);
    CHECK_EQ_I(got[0].cpus, 2);
    CHECK(isnan(got[0].cpu_percent));
    CHECK_NEAR(got[0].memory_percent, 75, 1e-9);
    CHECK_NEAR(got[0].bytes_in, 2e6, 1e-6);
    CHECK_NEAR(got[0].bytes_out, 7, 1e-9);
    CHECK_EQ_I(got[0].at_s, 1795309323);
    CHECK_EQ_I(parse_text(prometheus_of_a, "node_memory_MemAvailable_bytes 1\nnode_memory_MemTotal_bytes 4\n"), 1);
    CHECK_NEAR(got[0].at_s, 5, 0); /* no clock told: when it came */
    CHECK(isnan(got[0].bytes_in) && isnan(got[0].idle_s));
    CHECK_EQ_I(parse_text(prometheus_of_a, ""), 0);
    CHECK_EQ_I(parse_text(prometheus_of_a, "up 1\n"), 0);
    check_cuts(prometheus_of_a, node);
}

/* A number that is none takes its sum with it, and nothing else. */
TEST(prometheus_nonsense)
{
    CHECK_EQ_I(parse_text(prometheus_of_a, "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} NaN\n"
                                           "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1\n"
                                           "node_network_receive_bytes_total{device=\"e\"} -1\n"
                                           "node_network_transmit_bytes_total{device=\"e\"} 1\n"
                                           "node_memory_MemAvailable_bytes 1\nnode_memory_MemTotal_bytes 2\n"),
               1);
    CHECK(isnan(got[0].idle_s) && isnan(got[0].bytes_in));
    CHECK_NEAR(got[0].memory_percent, 50, 0);
    CHECK_EQ_I(parse_text(prometheus_of_a, "node_memory_MemAvailable_bytes 3\nnode_memory_MemTotal_bytes 2\n"), 0);
    CHECK_EQ_I(parse_text(prometheus_of_a, "node_memory_MemAvailable_bytes 3\nnode_memory_MemTotal_bytes +Inf\n"), 0);
}

TEST(prometheus_wrong)
{
    static const char *const wrong[] = {
        "<html>\n", "up\n", "up 1 2 3\n", "up one\n", "up{ 1\n", "up{a} 1\n", "up{a=b} 1\n", "up{a=\"b} 1\n",
        "up{a=\"b\"\n",
        "up{a=\"b\" c=\"d\"} 1\n", "up{a=\"b\\", "up{a:b=\"\"} 1\n", "1up 1\n", "up{,} 1\n", "up 1 x\n",
        "up 11111111111111111111111111111111111111111111111111111111111111111111\n",
    };
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (parse_text(prometheus_of_a, wrong[i]) != -1) NOTE("%s", wrong[i]);
        CHECK_EQ_I(parse_text(prometheus_of_a, wrong[i]), -1);
    }
    CHECK_EQ_I(parse_text(prometheus_of_a, "up 1\n\nup 2\nup{\n"), -1);
    CHECK_STR(why, "line 4 is no metric");
    CHECK_EQ_I(parse_text(prometheus_of_a, "up 1"), -1);
    CHECK_STR(why, "cut off: no line end");
    CHECK_EQ_I(ud_parse_prometheus("", "", 0, 1, got, why), -1);
    CHECK_EQ_I(ud_parse_prometheus("a name that is longer than names may be", "", 0, 1, got, why), -1);
}

/* ---- InfluxDB 1 -------------------------------------------------------------------------------------------------- */

#define SERIES(name, tags, columns, values) \
    "{\"name\":\"" name "\",\"tags\":{" tags "},\"columns\":[\"time\"," columns "],\"values\":[[" values "]]}"

/* Written as 1.6.7 does. */
static const char influx1[] =
    "{\"results\":[{\"statement_id\":0,\"series\":["
    SERIES("cpu", "\"host\":\"a\"", "\"usage_idle\",\"usage_user\",\"usage_system\"",
           "1795309323000000000,87.5,10,2.5") ","
    SERIES("cpu", "\"host\":\"b\"", "\"usage_idle\",\"usage_user\",\"usage_system\"",
           "1795309324500000000,null,30.25,20") "]},"
    "{\"statement_id\":1,\"series\":["
    SERIES("mem", "\"host\":\"a\"", "\"used_percent\"", "1795309322000000000,41") "]},"
    "{\"statement_id\":2,\"series\":["
    SERIES("net", "\"host\":\"a\",\"interface\":\"all\"", "\"bytes_recv\",\"bytes_sent\"",
           "1795309323000000000,77777,77777") ","
    SERIES("net", "\"host\":\"a\",\"interface\":\"eth0\"", "\"bytes_recv\",\"bytes_sent\"",
           "1795309323000000000,1000,2000") ","
    SERIES("net", "\"host\":\"a\",\"interface\":\"eth1\"", "\"bytes_recv\",\"bytes_sent\"",
           "1795309321000000000,5,6") ","
    SERIES("net", "\"host\":\"a\",\"interface\":\"lo\"", "\"bytes_recv\",\"bytes_sent\"",
           "1795309323000000000,999999,999999") "]}]}\n";

TEST(influx1_good)
{
    int32_t n = parse_text(ud_parse_influx1, influx1);
    const ud_reading *r;

    CHECK_EQ_I(n, 4);
    r = reading_for(n, "a", 'c');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->cpu_percent, 12.5, 1e-9);
    CHECK_NEAR(r->at_s, 1795309323, 1e-6);
    CHECK(isnan(r->memory_percent) && isnan(r->bytes_in));
    r = reading_for(n, "b", 'c');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->cpu_percent, 50.25, 1e-9); /* no usage_idle */
    CHECK_NEAR(r->at_s, 1795309324.5, 1e-6);
    r = reading_for(n, "a", 'm');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->memory_percent, 41, 0);
    r = reading_for(n, "a", 'n'); /* two interfaces, at the time of the newest; neither lo nor all */
    REQUIRE(r != NULL);
    CHECK_NEAR(r->bytes_in, 1005, 0);
    CHECK_NEAR(r->bytes_out, 2006, 0);
    CHECK_NEAR(r->at_s, 1795309323, 1e-6);
    CHECK_EQ_I(parse_text(ud_parse_influx1, "{\"results\":[{\"statement_id\":0},{\"statement_id\":1}]}"), 0);
    CHECK_EQ_I(parse_bytes(ud_parse_influx1, influx1, sizeof influx1 - 1, 2), 2); /* no more than there is room for */
    CHECK_EQ_I(parse_bytes(ud_parse_influx1, influx1, sizeof influx1 - 1, 0), 0);
}

TEST(influx1_lo_alone)
{
    int32_t n = parse_text(ud_parse_influx1, "{\"results\":[{\"series\":["
        SERIES("net", "\"host\":\"a\",\"interface\":\"lo\"", "\"bytes_recv\",\"bytes_sent\"", "1000000000,9,9") "]}]}");

    CHECK_EQ_I(n, 1);
    CHECK_NEAR(got[0].bytes_in, 0, 0); /* nothing is more than not known */
}

TEST(influx1_collectd)
{
    int32_t n = parse_text(ud_parse_influx1, "{\"results\":[{\"series\":["
        SERIES("cpu_value", "\"host\":\"a\"", "\"value\"", "2000000000,60") ","
        SERIES("memory_value", "\"host\":\"a\"", "\"value\"", "2000000000,30") ","
        SERIES("interface_rx", "\"host\":\"a\",\"instance\":\"eth0\"", "\"value\"", "2000000000,100") ","
        SERIES("interface_rx", "\"host\":\"a\",\"instance\":\"lo\"", "\"value\"", "2000000000,5000") ","
        SERIES("interface_tx", "\"host\":\"a\",\"instance\":\"eth0\"", "\"value\"", "2000000000,200") "]}]}");

    CHECK_EQ_I(n, 3);
    CHECK_NEAR(got[0].cpu_percent, 40, 1e-9);
    CHECK_NEAR(got[1].memory_percent, 30, 0);
    CHECK_NEAR(got[2].bytes_in, 100, 0);
    CHECK_NEAR(got[2].bytes_out, 200, 0);
}

TEST(influx1_wrong)
{
    static const struct {
        const char *text, *why;
    } wrong[] = {
        { "", "no JSON, cut off, or too much of it" }, { "<html>", "no JSON, cut off, or too much of it" },
        { "{\"results\":[]} x", "no JSON, cut off, or too much of it" },
        { "{}", "an answer without results" }, { "[]", "an answer without results" },
        { "{\"results\":3}", "an answer without results" },
        { "{\"error\":\"authorization failed\"}\n", "authorization failed" },
        { "{\"results\":[{\"statement_id\":0,\"error\":\"database not found: x\"}]}", "database not found: x" },
        { "{\"results\":[{\"statement_id\":0,\"error\":\"not executed\"}]}",
          "not executed: is there such a database?" },
        { "{\"error\":\"\"}", "an error of which nothing is said" },
    };
    /* Of no use, and no harm. */
    static const char *const idle[] = {
        "{\"results\":[1,null,\"x\",[],{\"series\":3},{\"series\":[4,{}]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":7", "\"usage_idle\"", "1,2") "]}]}",
        "{\"results\":[{\"series\":[{\"name\":\"cpu\",\"tags\":{\"host\":\"a\"},\"columns\":3,\"values\":[[1,2]]}]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"\"", "\"usage_idle\"", "1,2") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"a\\u0007\"", "\"usage_idle\"", "1,2") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"a\"", "\"usage_idle\"", "\"1\",2") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"a\"", "\"usage_idle\"", "1,\"2\"") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"a\"", "\"usage_idle\"", "1,1e999") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"a\"", "\"usage_user\"", "1,2") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("net", "\"host\":\"a\"", "\"bytes_recv\"", "1,2") "]}]}",
        "{\"results\":[{\"series\":[" SERIES("cpu", "\"host\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "\"usage_idle\"",
                                             "1,2") "]}]}",
    };
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQ_I(parse_text(ud_parse_influx1, wrong[i].text), -1);
        CHECK_STR(why, wrong[i].why);
    }
    for (i = 0; i < sizeof idle / sizeof *idle; i++) {
        if (parse_text(ud_parse_influx1, idle[i]) != 0) NOTE("%s", idle[i]);
        CHECK_EQ_I(parse_text(ud_parse_influx1, idle[i]), 0);
    }
    for (i = 0; i < sizeof influx1 - 2; i++) CHECK_EQ_I(parse_bytes(ud_parse_influx1, influx1, i, 64), -1);
}

/* Hosts called as queries and line protocol would not like it are hosts like any other. */
TEST(influx1_names)
{
    int32_t n = parse_text(ud_parse_influx1, "{\"results\":[{\"series\":["
        SERIES("cpu", "\"host\":\"a\\\" OR 1=1; DROP\"", "\"usage_idle\"", "1000000000,99") ","
        SERIES("cpu", "\"host\":\"a,b' \\\\${x}\"", "\"usage_idle\"", "1000000000,98") "]}]}");

    CHECK_EQ_I(n, 2);
    CHECK_STR(got[0].host, "a\" OR 1=1; DROP");
    CHECK_STR(got[1].host, "a,b' \\${x}");
}

TEST(influx1_huge)
{
    enum { SERIES_COUNT = 6000 };
    size_t room = SERIES_COUNT * 140 + 100, size, i;
    char *text = malloc(room);
    int32_t n;

    REQUIRE(text != NULL);
    size = (size_t)snprintf(text, room, "{\"results\":[{\"series\":[");
    for (i = 0; i < SERIES_COUNT; i++) {
        size += (size_t)snprintf(text + size, room - size, "%s" SERIES("mem", "\"host\":\"h%d\"", "\"used_percent\"",
                                                                       "1795309322000000000,41"), i ? "," : "", (int)i);
    }
    size += (size_t)snprintf(text + size, room - size, "]}]}");
    n = parse_bytes(ud_parse_influx1, text, size, UD_READINGS_MOST);
    CHECK_EQ_I(n, UD_READINGS_MOST);
    CHECK_STR(got[UD_READINGS_MOST - 1].host, "h4095");
    memset(text, '[', room); /* as deep as it goes */
    CHECK_EQ_I(parse_bytes(ud_parse_influx1, text, VALUES_MOST - 1, 64), -1);
    CHECK_EQ_I(parse_bytes(ud_parse_influx1, text, room, 64), -1);
    memset(text, ',', room);
    text[0] = '[';
    CHECK_EQ_I(parse_bytes(ud_parse_influx1, text, room, 64), -1);
    free(text);
}

/* ---- InfluxDB 2 -------------------------------------------------------------------------------------------------- */

/* Three tables of two schemas and a third that is of no use, with quotes, defaults and both line ends. */
static const char influx2[] =
    "#datatype,string,long,dateTime:RFC3339,double,string,string,string\r\n"
    "#group,false,false,false,false,true,true,true\r\n"
    "#default,_result,,,,,,\r\n"
    ",result,table,_time,_value,_field,_measurement,host\r\n"
    ",,0,2026-11-22T01:02:03Z,87.5,usage_idle,cpu,a\r\n"
    ",,1,2026-11-22T01:02:03Z,10,usage_user,cpu,a\r\n"
    ",,2,2026-11-22T01:02:04.5Z,30.25,usage_user,cpu,\"b, \"\"x\"\"\"\r\n"
    ",,3,2026-11-22T01:02:04.5Z,20,usage_system,cpu,\"b, \"\"x\"\"\"\r\n"
    ",,4,2026-11-22T01:02:02Z,41,used_percent,mem,a\r\n"
    "\r\n"
    "#group,false,false,false,false,true,true,true,true\r\n"
    "#default,_result,,,,,,,eth7\r\n"
    "#datatype,string,long,dateTime:RFC3339,long,string,string,string,string\r\n"
    ",result,table,_time,_value,_field,_measurement,host,interface\r\n"
    ",,5,2026-11-22T01:02:03Z,1000,bytes_recv,net,a,eth0\r\n"
    ",,6,2026-11-22T01:02:01Z,5,bytes_recv,net,a,\r\n"
    ",,7,2026-11-22T01:02:03Z,2000,bytes_sent,net,a,eth0\r\n"
    ",,8,2026-11-22T01:02:01Z,6,bytes_sent,net,a,\r\n"
    ",,9,2026-11-22T01:02:03Z,999,bytes_sent,net,a,lo\r\n"
    ",,10,2026-11-22T01:02:03Z,999,bytes_sent,net,a,all\r\n"
    "#datatype,string,long,string\n"
    ",result,table,other\n"
    ",,11,x\n"
    "\r\n";

TEST(influx2_good)
{
    int32_t n = parse_text(ud_parse_influx2, influx2);
    const ud_reading *r;

    CHECK_EQ_I(n, 4);
    r = reading_for(n, "a", 'c');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->cpu_percent, 12.5, 1e-9);
    CHECK_NEAR(r->at_s, 1795309323, 1e-6);
    r = reading_for(n, "b, \"x\"", 'c');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->cpu_percent, 50.25, 1e-9);
    CHECK_NEAR(r->at_s, 1795309324.5, 1e-6);
    r = reading_for(n, "a", 'm');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->memory_percent, 41, 0);
    r = reading_for(n, "a", 'n');
    REQUIRE(r != NULL);
    CHECK_NEAR(r->bytes_in, 1005, 0);
    CHECK_NEAR(r->bytes_out, 2006, 0);
    CHECK_EQ_I(parse_text(ud_parse_influx2, ""), 0);
    CHECK_EQ_I(parse_text(ud_parse_influx2, "\r\n"), 0);
    /* Without notes on columns, as a server that was not asked for them answers. */
    n = parse_text(ud_parse_influx2, ",result,table,_time,_value,_field,_measurement,host\r\n"
                                     ",_result,0,2026-11-22T01:02:03Z,41,used_percent,mem,a\r\n\r\n");
    CHECK_EQ_I(n, 1);
    check_cuts(ud_parse_influx2, influx2);
}

TEST(influx2_wrong)
{
#define COLUMNS_2 ",result,table,_time,_value,_field,_measurement,host\r\n"
    static const struct {
        const char *text, *why;
    } wrong[] = {
        { "<html>\n", "line 1 is no annotated CSV" }, { "a,b\n", "line 1 is no annotated CSV" },
        { "{\"code\":\"invalid\"}\n", "line 1 is no annotated CSV" },
        { COLUMNS_2 ",,0,2026-11-22T01:02:03Z,41,used_percent,mem\r\n", "line 2: 7 fields instead of 8" },
        { COLUMNS_2 ",,0,yesterday,41,used_percent,mem,a\r\n", "line 2: 'yesterday' is no time" },
        { COLUMNS_2 ",,0,2026-11-22T01:02:03Z,41,used_percent,mem,a", "cut off: no line end" },
        { COLUMNS_2 ",,0,2026-11-22T01:02:03Z,41,used_percent,mem,\"a\r\n",
          "line 2: a quote or line end out of place" },
        { "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n"
          ",\"failed, at last\",897\r\n", "failed, at last" },
        { "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,failed to execute query,",
          "failed to execute query" },
        { COLUMNS_2 ",,0,2026-11-22T01:02:03Z,41,used_percent,mem,a\r\n\r\n,error,reference\r\n,late,\r\n", "late" },
    };
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQ_I(parse_text(ud_parse_influx2, wrong[i].text), -1);
        CHECK_STR(why, wrong[i].why);
    }
    CHECK_EQ_I(parse_text(ud_parse_influx2, COLUMNS_2 ",,0,2026-11-22T01:02:03Z,high,used_percent,mem,a\r\n"), 0);
    CHECK_EQ_I(parse_text(ud_parse_influx2, COLUMNS_2 ",,0,2026-11-22T01:02:03Z,nan,used_percent,mem,a\r\n"), 0);
}

TEST(influx2_huge)
{
    static const char row[] = ",,0,2026-11-22T01:02:03Z,41,used_percent,mem,h%05d\r\n";
    size_t room = 6000 * sizeof row + 200, size, i;
    char *text = malloc(room);

    REQUIRE(text != NULL);
    size = (size_t)snprintf(text, room, "%s", COLUMNS_2);
    for (i = 0; i < 6000; i++) size += (size_t)snprintf(text + size, room - size, row, (int)i);
    CHECK_EQ_I(parse_bytes(ud_parse_influx2, text, size, UD_READINGS_MOST), UD_READINGS_MOST);
    CHECK_STR(got[UD_READINGS_MOST - 1].host, "h04095");
    memset(text, '"', room);
    CHECK_EQ_I(parse_bytes(ud_parse_influx2, text, room, 64), -1);
    free(text);
}

/* Nothing that the operator names can mean more than a name. */
TEST(queries)
{
    ex_text t = { NULL, 0, 0, false };
    cJSON *root;
    const char *query;

    ud_influx1_url("http://h:1", "a&q=DROP \"x\"", false, 60, &t);
    REQUIRE(t.data != NULL);
    CHECK(strstr(t.data, "http://h:1/query?db=a%26q%3DDROP%20%22x%22&epoch=ns&q=SELECT%20%22usage_idle%22") == t.data);
    CHECK_EQ_I(times_in(t.data, "now%28%29%20-%2060s"), 3);
    CHECK_EQ_I(times_in(t.data, "%3B"), 2); /* three statements */
    ex_text_free(&t);
    ud_influx1_url("http://h:1", "d", true, 90, &t);
    CHECK_EQ_I(times_in(t.data, "now%28%29%20-%2090s"), 3);
    CHECK_EQ_I(times_in(t.data, "interface_rx"), 1);
    ex_text_free(&t);
    ud_influx2_url("https://h", "my org&x", &t);
    CHECK_STR(t.data, "https://h/api/v2/query?org=my%20org%26x");
    ex_text_free(&t);
    REQUIRE(ud_influx2_body("b\") |> drop() ${x}\\\n", 60, &t));
    root = cJSON_Parse(t.data);
    query = string_of(root, "query");
    REQUIRE(query != NULL);
    CHECK(strstr(query, "from(bucket: \"b\\x22\\x29 \\x7c\\x3e drop\\x28\\x29 \\x24\\x7bx\\x7d\\x5c\\x0a\") |> "
                        "range(start: -60s)") == query);
    CHECK_STR(string_of(root, "type"), "flux");
    CHECK_EQ_I(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "dialect"), "annotations")), 3);
    cJSON_Delete(root);
    ex_text_free(&t);
}

/* ---- metrics: counters, times ------------------------------------------------------------------------------------ */

static ud_metrics *metrics_of(const char *capacity, double stale_s)
{
    ud_config c;
    ud_metrics *m = NULL;

    memset(&c, 0, sizeof c);
    c.stale_s = stale_s;
    snprintf(c.capacity, sizeof c.capacity, "%s", capacity);
    return ud_metrics_create(&c, &m) ? m : NULL;
}

static void take_net(ud_metrics *m, const char *host, double at_s, double in, double out, double now_s)
{
    ud_reading r;

    ud_reading_begin(&r, host, at_s);
    r.bytes_in = in;
    r.bytes_out = out;
    ud_metrics_take(m, &r, 1e9 + now_s, now_s);
}

static void take_cpu(ud_metrics *m, const char *host, double at_s, double cpu, double memory, double now_s)
{
    ud_reading r;

    ud_reading_begin(&r, host, at_s);
    r.cpu_percent = cpu;
    r.memory_percent = memory;
    ud_metrics_take(m, &r, 1e9 + now_s, now_s);
}

static double network_of(const ud_metrics *m, double now_s)
{
    ud_shares s;

    ud_metrics_shares(m, 0, now_s, &s);
    return s.network;
}

TEST(rates)
{
    ud_metrics *m = metrics_of("", 10);

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "10.0.0.1");
    take_net(m, "a", 1e9 + 1, 1e6, 5e6, 1);
    CHECK(isnan(network_of(m, 1)));
    take_net(m, "a", 1e9 + 3, 1e6 + 25e6, 5e6 + 100e6, 3);
    CHECK_NEAR(network_of(m, 3), 50e6 / 125e6, 1e-9); /* the greater direction, over a gigabit a second */
    take_net(m, "a", 1e9 + 4, 26e6 + 250e6, 105e6, 4);
    CHECK_NEAR(network_of(m, 4), 2, 1e-9); /* more than was declared is told as it is */
    take_net(m, "a", 1e9 + 5, 276e6, 105e6, 5);
    CHECK_NEAR(network_of(m, 5), 0, 0);
    ud_metrics_destroy(m);
}

TEST(counters_wrap_and_begin_anew)
{
    const double top = 4294967296.0;
    ud_metrics *m = metrics_of("", 100);
    ud_shares s;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "");
    take_net(m, "a", 1e9 + 1, top - 5e6, 0, 1);
    take_net(m, "a", 1e9 + 2, 20e6, 1e6, 2);
    CHECK_NEAR(network_of(m, 2), 25e6 / 125e6, 1e-9); /* one direction wrapped, the other did not */
    take_net(m, "a", 1e9 + 3, 145e6, top - 1, 3);     /* 4 GB in a second: no more than a hundred times the capacity */
    CHECK_NEAR(network_of(m, 3), (top - 1 - 1e6) / 125e6, 1e-9);
    take_net(m, "a", 1e9 + 4, 145e6, 125e6 - 1, 4); /* just the capacity */
    CHECK_NEAR(network_of(m, 4), 1, 1e-9);
    take_net(m, "a", 1e9 + 5, 145e6, 1000, 5); /* 4.17 GB back is no wrap: it began anew, and nothing is told */
    CHECK_NEAR(network_of(m, 5), 1, 1e-9);
    ud_metrics_shares(m, 0, 5, &s);
    CHECK_NEAR(m->seat[0].network.at_s, 4, 0);
    take_net(m, "a", 1e9 + 6, 145e6, 1000 + 12.5e6, 6); /* and goes on from there */
    CHECK_NEAR(network_of(m, 6), 0.1, 1e-9);
    take_net(m, "a", 1e9 + 7, 1e18, 2e7, 7); /* an interface came into the sum */
    CHECK_NEAR(network_of(m, 7), 0.1, 1e-9);
    take_net(m, "a", 1e9 + 8, 1e18 + 25e6, 2e7, 8);
    CHECK_NEAR(network_of(m, 8), 0.2, 1e-5);
    take_net(m, "a", 1e9 + 9, 0, 0, 9); /* 64 bits never wrap */
    CHECK_NEAR(network_of(m, 9), 0.2, 1e-5);
    take_net(m, "a", 1e9 + 1009, 1e6, 0, 1009); /* a quarter of an hour is no now */
    CHECK_NEAR(network_of(m, 1009), 0.2, 1e-5);
    take_net(m, "a", 1e9 + 1010, 1e6 + 125e6, 0, 1010);
    CHECK_NEAR(network_of(m, 1010), 1, 1e-9);
    ud_metrics_destroy(m);
}

TEST(counters_twice_and_late)
{
    ud_metrics *m = metrics_of("", 100);
    uint64_t turn;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "");
    take_net(m, "a", 1e9 + 10, 0, 0, 10);
    take_net(m, "a", 1e9 + 11, 12.5e6, 0, 11);
    CHECK_NEAR(network_of(m, 11), 0.1, 1e-9);
    turn = ud_metrics_turn(m);
    take_net(m, "a", 1e9 + 11, 12.5e6, 0, 12);   /* the same sample */
    take_net(m, "a", 1e9 + 11, 99e6, 0, 12);     /* the same time */
    take_net(m, "a", 1e9 + 10.5, 1e6, 0, 12);    /* late */
    take_net(m, "a", 1e9 + 11.001, 13e6, 0, 12); /* too soon for a rate */
    CHECK_EQ_U(ud_metrics_turn(m), turn);
    CHECK_NEAR(network_of(m, 12), 0.1, 1e-9);
    take_net(m, "a", 1e9 + 12, 12.5e6 + 25e6, 0, 12);
    CHECK_NEAR(network_of(m, 12), 0.2, 1e-9);
    CHECK_EQ_U(ud_metrics_turn(m), turn + 1);
    ud_metrics_destroy(m);
}

TEST(nonsense_is_refused)
{
    static const double bad[] = { UD_NAN, UD_INFINITY, -UD_INFINITY, -5, 101.5, 1e300 };
    ud_metrics *m = metrics_of("", 100);
    ud_reading r;
    uint64_t turn;
    size_t i;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "");
    take_cpu(m, "a", 1e9 + 1, 50, 60, 1);
    take_net(m, "a", 1e9 + 1, 0, 0, 1);
    turn = ud_metrics_turn(m);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        take_cpu(m, "a", 1e9 + 2, bad[i], bad[i], 2);
        if (!(bad[i] >= 0 && bad[i] < 1e19)) take_net(m, "a", 1e9 + 2, bad[i], 0, 2);
        if (!(bad[i] >= 0 && bad[i] < 1e19)) take_net(m, "a", 1e9 + 2, 0, bad[i], 2);
        if (!(bad[i] > 0 && bad[i] < 1e12)) take_cpu(m, "a", bad[i], 70, 70, 2);
    }
    take_cpu(m, "", 1e9 + 2, 70, 70, 2);
    memset(&r, 'a', sizeof r); /* a name without an end */
    r.at_s = 1e9 + 2;
    ud_metrics_take(m, &r, 1e9 + 2, 2);
    CHECK_EQ_U(ud_metrics_turn(m), turn);
    CHECK_NEAR(m->seat[0].cpu.share, 0.5, 0);
    take_cpu(m, "a", 1e9 + 2, 100.0000001, -0.0000001, 2); /* as rounding has it */
    CHECK_NEAR(m->seat[0].cpu.share, 1, 0);
    CHECK_NEAR(m->seat[0].memory.share, 0, 0);
    ud_metrics_destroy(m);
}

TEST(ages)
{
    ud_metrics *m = metrics_of("", 5);
    ud_shares s;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "");
    ud_metrics_shares(m, 0, 0, &s);
    CHECK(!s.known && isnan(s.cpu) && isinf(s.age_s));
    take_net(m, "a", 1e9 + 9, 0, 0, 10);
    take_net(m, "a", 1e9 + 10, 0, 0, 10.5);
    take_cpu(m, "a", 1e9 + 11, 50, NONE_F, 12);
    ud_metrics_shares(m, 0, 12, &s);
    CHECK(!s.known && isnan(s.memory)); /* two of three */
    take_cpu(m, "a", 1e9 + 12, NONE_F, 25, 12.25);
    ud_metrics_shares(m, 0, 12.5, &s);
    CHECK(s.known);
    CHECK_NEAR(s.at_s, 10, 1e-6); /* the oldest, when it was taken */
    CHECK_NEAR(s.age_s, 2.5, 1e-6);
    CHECK_NEAR(s.cpu, 0.5, 0);
    CHECK_NEAR(s.memory, 0.25, 0);
    ud_metrics_shares(m, 0, 15, &s);
    CHECK(s.known);
    ud_metrics_shares(m, 0, 15.1, &s);
    CHECK(!s.known); /* processor and memory are fresh: frozen is frozen */
    take_cpu(m, "a", 1e9 - 3600, 50, 50, 16); /* an hour old: late */
    ud_metrics_shares(m, 0, 16, &s);
    CHECK(!s.known);
    ud_metrics_shares(m, 1, 16, &s);
    CHECK(!s.known);
    ud_metrics_shares(m, -1, 16, &s);
    CHECK(!s.known);
    ud_metrics_shares(m, UD_CLIENTS_MOST, 16, &s);
    CHECK(!s.known);
    ud_metrics_destroy(m);
}

/* A host whose clock is an hour ahead: fresh as it comes, stale when it stops, right when it is set right. */
TEST(clock_ahead)
{
    ud_metrics *m = metrics_of("", 5);
    const char *said;
    ud_shares s;
    int32_t i;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "");
    said_begin();
    for (i = 0; i < 5; i++) {
        take_cpu(m, "a", 1e9 + 3600 + i, 10 + i, 20, i);
        take_net(m, "a", 1e9 + 3600 + i, 12.5e6 * i, 0, i);
    }
    said = said_end();
    CHECK_EQ_I(times_in(said, "metrics of a carry times 3600 s ahead of the clock here"), 1);
    CHECK_EQ_I(times_in(said, "\n"), 1);
    ud_metrics_shares(m, 0, 4, &s);
    CHECK(s.known);
    CHECK_NEAR(s.age_s, 0, 0);
    CHECK_NEAR(s.network, 0.1, 1e-9);
    take_cpu(m, "a", 1e9 + 3604, 99, 99, 8); /* the database still has that one */
    ud_metrics_shares(m, 0, 8, &s);
    CHECK_NEAR(s.age_s, 4, 0);
    take_cpu(m, "a", 1e9 + 3602, 99, 99, 8); /* late, by that clock */
    CHECK_NEAR(m->seat[0].cpu.share, 0.14, 1e-9);
    ud_metrics_shares(m, 0, 10, &s);
    CHECK(!s.known);
    take_cpu(m, "a", 1e9 + 9.5, 30, 30, 10); /* set right */
    take_net(m, "a", 1e9 + 9.5, 200e6, 0, 10);
    take_net(m, "a", 1e9 + 10.5, 225e6, 0, 11);
    ud_metrics_shares(m, 0, 11, &s);
    CHECK(s.known);
    CHECK_NEAR(s.cpu, 0.3, 1e-9);
    CHECK_NEAR(s.network, 0.2, 1e-9);
    CHECK_NEAR(s.age_s, 1.5, 1e-6);
    ud_metrics_destroy(m);
}

TEST(hosts_and_clients)
{
    ud_metrics *m = metrics_of("", 5);
    const char *name = NULL, *address = NULL;
    ud_shares s;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "10.0.0.1");
    ud_metrics_name(m, 1, "b", "10.0.0.2");
    ud_metrics_name(m, 2, "10.0.0.1", "10.0.0.3");
    ud_metrics_name(m, 3, "c", "10.0.0.2");
    take_cpu(m, "10.0.0.1", 1e9 + 1, 10, 10, 1); /* a name before an address */
    CHECK(isnan(m->seat[0].cpu.share) && m->seat[2].cpu.share > 0);
    take_cpu(m, "10.0.0.2", 1e9 + 1, 20, 20, 1); /* a host of two clients */
    CHECK(m->seat[1].cpu.share > 0 && m->seat[3].cpu.share > 0);
    take_cpu(m, "a", 1e9 + 1, 30, 30, 1);
    CHECK_NEAR(m->seat[0].cpu.share, 0.3, 1e-9);
    ud_metrics_name(m, 0, "a", "10.0.0.1"); /* nothing new */
    CHECK_NEAR(m->seat[0].cpu.share, 0.3, 1e-9);
    ud_metrics_name(m, 0, "a", "10.0.0.9"); /* came back elsewhere */
    CHECK(isnan(m->seat[0].cpu.share));
    REQUIRE(ud_metrics_client(m, 0, &name, &address));
    CHECK_STR(address, "10.0.0.9");
    ud_metrics_forget(m, 1);
    CHECK(!ud_metrics_client(m, 1, &name, &address) && ud_metrics_capacity(m, 1) == NULL);
    ud_metrics_shares(m, 1, 1, &s);
    CHECK(!s.known && isnan(s.cpu));
    take_cpu(m, "b", 1e9 + 2, 20, 20, 2);
    CHECK(!m->seat[1].used);
    ud_metrics_name(m, -1, "x", "");
    ud_metrics_name(m, UD_CLIENTS_MOST, "x", "");
    ud_metrics_forget(m, -1);
    CHECK(!ud_metrics_client(m, 4, &name, &address));
    ud_metrics_destroy(m);
}

/* The commonest mistake is said, with what would help, and once. */
TEST(clients_without_metrics)
{
    ud_metrics *m = metrics_of("", 5);
    const char *said;
    int32_t i;

    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "10.0.0.1");
    ud_metrics_name(m, 1, "b", "10.0.0.2");
    said_begin();
    for (i = 0; i < 40; i++) {
        take_cpu(m, "b", 1e9 + i, 10, 10, i);
        take_cpu(m, "nomad-a", 1e9 + i, 10, 10, i);
        take_cpu(m, "nomad-b", 1e9 + i, 10, 10, i);
    }
    said = said_end();
    CHECK_EQ_I(times_in(said, "no metrics of client a (10.0.0.1); hosts that are no client: nomad-a, nomad-b\n"), 1);
    CHECK_EQ_I(times_in(said, "\n"), 1);
    ud_metrics_destroy(m);
}

static bool file_put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    return f && fputs(text, f) >= 0 && fclose(f) == 0;
}

static void temporary(char path[64])
{
    int fd;

    snprintf(path, 64, "/tmp/rllb-udp-XXXXXX");
    fd = mkstemp(path);
    if (fd < 0) abort();
    close(fd);
}

TEST(capacity_file)
{
    char path[64];
    ud_metrics *m;
    const char *said;

    temporary(path);
    REQUIRE(file_put(path, "a,2,4e9,1e6\n*,1,1e9,1e7\n"));
    m = metrics_of(path, 5);
    REQUIRE(m != NULL);
    ud_metrics_name(m, 0, "a", "");
    ud_metrics_name(m, 1, "b", "");
    CHECK_NEAR(ud_metrics_capacity(m, 0)->cores, 2, 0);
    CHECK_NEAR(ud_metrics_capacity(m, 1)->bytes_s, 1e7, 0);
    take_net(m, "a", 1e9 + 1, 0, 0, 1);
    take_net(m, "a", 1e9 + 2, 5e5, 0, 2);
    CHECK_NEAR(network_of(m, 2), 0.5, 1e-9);
    ud_metrics_destroy(m);
    REQUIRE(file_put(path, "a,2,4e9,1e6\nb,2,x,1e7\n"));
    said_begin();
    m = metrics_of(path, 5);
    said = said_end();
    CHECK(m == NULL);
    CHECK(strstr(said, path) && strstr(said, ":2: memory 'x' is no number above 0\n"));
    CHECK_EQ_I(times_in(said, "\n"), 1);
    unlink(path);
    said_begin();
    m = metrics_of(path, 5);
    said = said_end();
    CHECK(m == NULL && strstr(said, path) && times_in(said, "\n") == 1);
}

/* ---- a double of servers ----------------------------------------------------------------------------------------- */

/* One thread, up to PEERS connections that are kept. What it answers is by path; the database's and exporter's words
   are set by the test. */
enum { PEERS = 8 };

typedef struct peer {
    int fd; /* -1: free */
    char in[8192];
    size_t size;
    int served;
} peer;

static struct server {
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    int listener, port, stop[2];
    peer peer[PEERS];
    int status;               /* of /query, /api/v2/query, /metrics */
    const char *words;        /* their body */
    char request[8192];       /* the latest of those */
    int requests, connections;
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool reply(int fd, int status, const char *header, const char *body)
{
    char head[512];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d Words\r\n%sContent-Length: %u\r\n\r\n", status, header,
                     (unsigned)strlen(body));

    return send_all(fd, head, (size_t)n) && send_all(fd, body, strlen(body));
}

/* Bytes beyond measure, as a body or as headers. */
static void flood(int fd, const char *first, const char *line)
{
    static char part[65536];
    size_t n = strlen(line), i;

    for (i = 0; i + n <= sizeof part; i += n) memcpy(part + i, line, n);
    if (!send_all(fd, first, strlen(first))) return;
    for (n = 0; n < 100 && send_all(fd, part, i); n++) {}
}

/* Answers after which the connection is closed. */
static bool serve_badly(int fd, const char *path)
{
    static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    static const char garbage[] = "\x01\x02 no HTTP\r\n\r\n";

    if (strncmp(path, "/half", 5) == 0) send_all(fd, half, sizeof half - 1);
    else if (strncmp(path, "/garbage", 8) == 0) send_all(fd, garbage, sizeof garbage - 1);
    else if (strncmp(path, "/large", 6) == 0) flood(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", "x");
    else if (strncmp(path, "/flood", 6) == 0) flood(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "y");
    else if (strncmp(path, "/headers", 8) == 0) flood(fd, "HTTP/1.1 200 OK\r\n", "X-More: and more\r\n");
    else return false;
    return true;
}

/* False: the connection is to be closed. */
static bool serve(peer *p, const char *path)
{
    char number[32];
    bool kept;

    p->served++;
    snprintf(number, sizeof number, "%d", p->served);
    if (strncmp(path, "/ok", 3) == 0) return reply(p->fd, 200, "x-index:  77 \r\nX-Indexes: 1\r\n", "hello");
    if (strncmp(path, "/count", 6) == 0) return reply(p->fd, 200, "", number);
    if (strncmp(path, "/echo", 5) == 0) return reply(p->fd, 201, "", p->in);
    if (strncmp(path, "/slow", 5) == 0) return true;
    if (strncmp(path, "/redirect", 9) == 0) return reply(p->fd, 302, "Location: file:///etc/passwd\r\n", "elsewhere");
    if (serve_badly(p->fd, path)) return false;
    pthread_mutex_lock(&server.lock);
    memcpy(server.request, p->in, p->size + 1);
    server.requests++;
    kept = reply(p->fd, server.status, "", server.words ? server.words : "");
    pthread_mutex_unlock(&server.lock);
    return kept;
}

/* The request that has come in, if it is whole. */
static bool peer_turn(peer *p)
{
    const char *end, *length;
    char path[256] = "";
    size_t need;
    ssize_t n = recv(p->fd, p->in + p->size, sizeof p->in - 1 - p->size, 0);

    if (n <= 0) return false;
    p->size += (size_t)n;
    p->in[p->size] = '\0';
    end = strstr(p->in, "\r\n\r\n");
    if (!end) return p->size < sizeof p->in - 1;
    length = strstr(p->in, "Content-Length: ");
    need = (size_t)(end + 4 - p->in) + (length && length < end ? (size_t)atoi(length + 16) : 0);
    if (p->size < need) return true;
    sscanf(p->in, "%*s %255s", path);
    if (!serve(p, path)) return false;
    p->size = 0;
    return true;
}

static void *server_run(void *unused)
{
    struct pollfd fds[PEERS + 2];
    int i;

    for (;;) {
        for (i = 0; i < PEERS; i++) {
            fds[i].fd = server.peer[i].fd;
            fds[i].events = POLLIN;
        }
        fds[PEERS].fd = server.listener;
        fds[PEERS + 1].fd = server.stop[0];
        fds[PEERS].events = fds[PEERS + 1].events = POLLIN;
        if (poll(fds, PEERS + 2, -1) <= 0 || fds[PEERS + 1].revents) break;
        for (i = 0; i < PEERS; i++) {
            if (server.peer[i].fd < 0 || !fds[i].revents || peer_turn(&server.peer[i])) continue;
            close(server.peer[i].fd);
            server.peer[i].fd = -1;
        }
        if (!fds[PEERS].revents) continue;
        for (i = 0; i < PEERS && server.peer[i].fd >= 0; i++) {}
        if (i == PEERS) break;
        server.peer[i].fd = accept(server.listener, NULL, NULL);
        server.peer[i].size = 0;
        server.peer[i].served = 0;
        pthread_mutex_lock(&server.lock);
        server.connections++;
        pthread_mutex_unlock(&server.lock);
    }
    for (i = 0; i < PEERS; i++) {
        if (server.peer[i].fd >= 0) close(server.peer[i].fd);
    }
    return unused;
}

static bool server_listen(void)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    int i;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    if (server.listener < 0 || bind(server.listener, (struct sockaddr *)(void *)&a, sizeof a) != 0 ||
        listen(server.listener, 16) != 0 || getsockname(server.listener, (struct sockaddr *)(void *)&a, &size) != 0) {
        return false;
    }
    server.port = ntohs(a.sin_port);
    for (i = 0; i < PEERS; i++) server.peer[i].fd = -1;
    return true;
}

static bool server_start(void)
{
    server.requests = server.connections = 0;
    server.words = NULL;
    server.status = 200;
    return server_listen() && pipe(server.stop) == 0 && pthread_create(&server.thread, NULL, server_run, NULL) == 0;
}

static void server_stop(void)
{
    if (write(server.stop[1], "x", 1) != 1) abort();
    pthread_join(server.thread, NULL);
    close(server.listener);
    close(server.stop[0]);
    close(server.stop[1]);
}

static void server_says(int status, const char *words)
{
    pthread_mutex_lock(&server.lock);
    server.status = status;
    server.words = words;
    pthread_mutex_unlock(&server.lock);
}

static int server_count(const int *which)
{
    int n;

    pthread_mutex_lock(&server.lock);
    n = *which;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static const char *server_heard(void)
{
    static char copy[sizeof server.request];

    pthread_mutex_lock(&server.lock);
    memcpy(copy, server.request, sizeof copy);
    pthread_mutex_unlock(&server.lock);
    return copy;
}

/* ---- web --------------------------------------------------------------------------------------------------------- */

typedef struct heard {
    int32_t count, status;
    char text[9000], header[64];
    size_t size;
    ud_web *again; /* asks once more from within */
    char url[100];
} heard;

static void on_heard(void *user, const ud_answer *a)
{
    heard *h = user;

    h->count++;
    h->status = a->status;
    h->size = a->size;
    snprintf(h->text, sizeof h->text, "%s", a->text);
    snprintf(h->header, sizeof h->header, "%s", a->header);
    if (!h->again) return;
    ud_web_ask(h->again, h->url, NULL, NULL, NULL, 2, on_heard, h);
    h->again = NULL;
}

static const char *url_of(const char *path)
{
    static char url[100];

    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
    return url;
}

#define PATIENCE_S 60.0 /* where an answer comes: a busy machine may take long */

/* Turns until there are that many answers. */
static void turn_until(ud_web *w, const heard *h, int32_t wanted)
{
    double until = ex_clock_s() + PATIENCE_S;

    while (h->count < wanted && ex_clock_s() < until) ud_web_turn(w, 0.05);
    CHECK_EQ_I(h->count, wanted);
}

static void fetch(ud_web *w, heard *h, const char *path, const char *const *headers, const char *body, double timeout_s)
{
    int32_t wanted = h->count + 1;

    CHECK(ud_web_ask(w, url_of(path), headers, body, "X-Index", timeout_s, on_heard, h));
    turn_until(w, h, wanted);
}

TEST(web_answers)
{
    static const char *const headers[] = { "Authorization: Token x", "Accept: application/csv", NULL };
    static const char *const forged[] = { "A: b\r\nC: d", NULL };
    heard h = { 0 };
    int32_t asked;
    ud_web *w;
    int i;

    REQUIRE(server_start());
    REQUIRE(ud_web_create(&w));
    fetch(w, &h, "/ok", NULL, NULL, PATIENCE_S);
    CHECK_EQ_I(h.status, 200);
    CHECK_STR(h.text, "hello");
    CHECK_EQ_I(h.size, 5);
    CHECK_STR(h.header, "77");
    for (i = 2; i < 6; i++) fetch(w, &h, "/count", NULL, NULL, PATIENCE_S);
    CHECK_STR(h.text, "5"); /* on one connection */
    CHECK_STR(h.header, "");
    CHECK_EQ_I(server_count(&server.connections), 1);
    fetch(w, &h, "/echo?a=b%20c", headers, "the body", PATIENCE_S);
    CHECK_EQ_I(h.status, 201);
    CHECK(strstr(h.text, "POST /echo?a=b%20c HTTP/1.1\r\n") == h.text);
    CHECK(strstr(h.text, "Authorization: Token x\r\n") && strstr(h.text, "Accept: application/csv\r\n"));
    CHECK(strstr(h.text, "User-Agent: rllb\r\n") && strstr(h.text, "\r\n\r\nthe body"));
    fetch(w, &h, "/redirect", NULL, NULL, PATIENCE_S);
    CHECK_EQ_I(h.status, 302);
    CHECK_STR(h.text, "elsewhere");
    h.again = w;
    snprintf(h.url, sizeof h.url, "%s", url_of("/count"));
    asked = h.count;
    CHECK(ud_web_ask(w, url_of("/ok"), NULL, NULL, NULL, PATIENCE_S, on_heard, &h));
    turn_until(w, &h, asked + 2);
    CHECK(atoi(h.text) > 1); /* asked from within an answer */
    said_begin();
    CHECK(!ud_web_ask(w, "ftp://127.0.0.1/", NULL, NULL, NULL, 1, on_heard, &h));
    CHECK(!ud_web_ask(w, "file:///etc/passwd", NULL, NULL, NULL, 1, on_heard, &h));
    CHECK(!ud_web_ask(w, "http://127.0.0.1/ x", NULL, NULL, NULL, 1, on_heard, &h));
    CHECK(!ud_web_ask(w, url_of("/ok"), forged, NULL, NULL, 1, on_heard, &h));
    CHECK_EQ_I(times_in(said_end(), "\n"), 4);
    ud_web_destroy(w);
    server_stop();
}

/* Each of these is no answer, and the next one is. */
TEST(web_faults)
{
    static const struct {
        const char *path, *why;
    } faults[] = {
        { "/half", "transfer closed" }, { "/garbage", "" }, { "/large", "the answer is larger than 4 MiB" },
        { "/flood", "the answer is larger than 4 MiB" }, { "/headers", "more than 64 KiB of headers" }, { "/slow", "" },
    };
    heard h = { 0 };
    ud_web *w;
    size_t i;
    double start;

    REQUIRE(server_start());
    REQUIRE(ud_web_create(&w));
    for (i = 0; i < sizeof faults / sizeof *faults; i++) {
        bool slow = strcmp(faults[i].path, "/slow") == 0; /* else it is told at once */
        start = ex_clock_s();
        fetch(w, &h, faults[i].path, NULL, NULL, slow ? 0.3 : 10 * PATIENCE_S);
        NOTE("%s: %s", faults[i].path, h.text);
        CHECK_EQ_I(h.status, 0);
        CHECK(h.text[0] && strstr(h.text, faults[i].why));
        CHECK(!slow || ex_clock_s() - start > 0.29);
        fetch(w, &h, "/ok", NULL, NULL, PATIENCE_S);
        CHECK_EQ_I(h.status, 200);
        CHECK_STR(h.text, "hello");
    }
    i = (size_t)h.count;
    start = ex_clock_s();
    ud_web_ask(w, url_of("/slow"), NULL, NULL, NULL, 10 * PATIENCE_S, on_heard, &h);
    ud_web_turn(w, 0.1);
    ud_web_turn(w, 0);
    ud_web_turn(w, 0.2);
    CHECK(ex_clock_s() - start < PATIENCE_S && h.count == (int32_t)i); /* waits for the time told, not for the answer */
    ud_web_destroy(w); /* with one under way: no answer comes */
    CHECK_EQ_I(h.count, i);
    server_stop();
    REQUIRE(ud_web_create(&w));
    h.text[0] = '\0';
    fetch(w, &h, "/ok", NULL, NULL, PATIENCE_S); /* nobody listens */
    CHECK_EQ_I(h.status, 0);
    CHECK(h.text[0]);
    start = ex_clock_s();
    ud_web_turn(w, 0.1); /* nothing is under way: it is a pause all the same */
    CHECK(ex_clock_s() - start > 0.05);
    ud_web_destroy(w);
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

static ud_config config_of(const char *source)
{
    ud_config c;

    memset(&c, 0, sizeof c);
    snprintf(c.source, sizeof c.source, "%s", source);
    c.interval_s = 1;
    c.stale_s = 5;
    return c;
}

/* One poll at that time, until it is over. */
static void poll_once(ud_source *s, ud_metrics *m, double now_s)
{
    double until = ex_clock_s() + PATIENCE_S;
    bool busy = true;
    int32_t i;

    s->due_s = now_s;
    s->timeout_s = PATIENCE_S;
    ud_source_turn(s, m, 1e9 + now_s, now_s);
    while (busy && ex_clock_s() < until) {
        for (i = 0, busy = false; i < s->targets; i++) busy = busy || s->target[i].busy;
        if (busy) ud_source_wait(s, 0.05);
        if (busy) ud_source_turn(s, m, 1e9 + now_s, now_s);
    }
    CHECK(!busy);
}

TEST(source_settings)
{
    static const struct {
        const char *source, *org, *token, *why;
    } wrong[] = {
        { "influx:http://h", "", "", "begins with influx1:, collectd:, influx2:, prometheus: or file:" },
        { "", "", "", "begins with influx1:" },
        { "influx1:ftp://h", "", "", "an address is http://HOST:PORT" },
        { "influx1:http://", "", "", "an address is http://HOST:PORT" },
        { "influx1:http://:80", "", "", "an address is http://HOST:PORT" },
        { "influx1:http://u:secret@h", "", "", "no user or password in an address" },
        { "influx1:http://h/?x=secret", "", "", "an address without a query" },
        { "influx1:http://h /", "", "", "has a blank in an address" },
        { "influx2:http://h", "", "t", "--org: is missing: influx2 wants it" },
        { "influx2:http://h", "o", "sec\nret", "--token: has a control character" },
        { "influx2:http://h", "o", "@/nonexistent/token", "/nonexistent/token" },
        { "prometheus:", "", "", "an address is http://HOST:PORT" },
        { "prometheus:http://a,http://b@c", "", "", "no user or password" },
        { "prometheus:a name that is far too long to be one=http://a", "", "", "is no name of a client" },
        { "prometheus:http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "", "", "wants a name: NAME=URL" },
        { "prometheus:http://{}:1,http://b", "", "", "one address with {} in it is for all clients" },
        { "file:", "", "", "file: which?" },
    };
    ud_config c;
    ud_source *s;
    const char *said;
    bool made;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        c = config_of(wrong[i].source);
        snprintf(c.org, sizeof c.org, "%s", wrong[i].org);
        snprintf(c.token, sizeof c.token, "%s", wrong[i].token);
        said_begin();
        made = ud_source_create(&c, &s);
        said = said_end();
        CHECK(!made && s == NULL);
        if (!strstr(said, wrong[i].why)) NOTE("%s", said);
        CHECK(strstr(said, wrong[i].why) && times_in(said, "\n") == 1 && !strstr(said, "ret"));
    }
}

TEST(tokens)
{
    static const struct {
        const char *source, *token, *header;
    } t[] = {
        { "influx2:http://h", "abc==", "Authorization: Token abc==" },
        { "influx1:http://h", "abc", "Authorization: Bearer abc" },
        { "influx1:http://h", "user:pass", "Authorization: Basic dXNlcjpwYXNz" },
        { "collectd:http://h", "u:p", "Authorization: Basic dTpw" },
        { "prometheus:http://h", "u:pw", "Authorization: Basic dTpwdw==" },
        { "influx1:http://h", "", "" },
    };
    char path[64];
    ud_config c;
    ud_source *s;
    size_t i;

    temporary(path);
    REQUIRE(file_put(path, "from a file \r\n"));
    unsetenv("INFLUX_TOKEN");
    for (i = 0; i < sizeof t / sizeof *t; i++) {
        c = config_of(t[i].source);
        snprintf(c.org, sizeof c.org, "o");
        snprintf(c.token, sizeof c.token, "%s", t[i].token);
        REQUIRE(ud_source_create(&c, &s));
        CHECK_STR(s->header, t[i].header);
        ud_source_destroy(s);
    }
    c = config_of("influx2:http://h");
    snprintf(c.org, sizeof c.org, "o");
    snprintf(c.token, sizeof c.token, "@%s", path);
    REQUIRE(ud_source_create(&c, &s));
    CHECK_STR(s->header, "Authorization: Token from a file");
    ud_source_destroy(s);
    unlink(path);
    c.token[0] = '\0';
    setenv("INFLUX_TOKEN", "from outside", 1);
    REQUIRE(ud_source_create(&c, &s));
    CHECK_STR(s->header, "Authorization: Token from outside");
    ud_source_destroy(s);
    c = config_of("prometheus:http://h"); /* it is none of its business */
    REQUIRE(ud_source_create(&c, &s));
    CHECK_STR(s->header, "");
    ud_source_destroy(s);
    unsetenv("INFLUX_TOKEN");
}

static void influx1_words(char *text, size_t room, double at_s, double cpu, double bytes)
{
    snprintf(text, room, "{\"results\":[{\"series\":["
             SERIES("cpu", "\"host\":\"a\"", "\"usage_idle\"", "%.0f000000000,%g") ","
             SERIES("mem", "\"host\":\"a\"", "\"used_percent\"", "%.0f000000000,25") ","
             SERIES("net", "\"host\":\"a\",\"interface\":\"eth0\"", "\"bytes_recv\",\"bytes_sent\"",
                    "%.0f000000000,%.0f,0") "]}]}", at_s, 100 - cpu, at_s, at_s, bytes);
}

/* Metrics come, go and come again; the token is in the header and in no message. */
TEST(influx1_by_a_double)
{
    ud_metrics *m = metrics_of("", 5);
    char text[2000], reason[160], url[120];
    const char *said;
    ud_config c;
    ud_source *s;
    ud_shares f;

    REQUIRE(m != NULL);
    REQUIRE(server_start());
    snprintf(url, sizeof url, "influx1:http://127.0.0.1:%d//", server.port);
    c = config_of(url);
    snprintf(c.token, sizeof c.token, "user:sesame");
    REQUIRE(ud_source_create(&c, &s));
    ud_metrics_name(m, 0, "a", "");
    influx1_words(text, sizeof text, 1e9 + 1, 40, 0);
    server_says(200, text);
    poll_once(s, m, 1);
    CHECK(strstr(server_heard(), "GET /query?db=telegraf&epoch=ns&q=SELECT") == server_heard());
    CHECK(strstr(server_heard(), "Authorization: Basic dXNlcjpzZXNhbWU=\r\n") != NULL);
    CHECK_EQ_I(ud_source_failing(s, reason), 0);
    influx1_words(text, sizeof text, 1e9 + 2, 40, 12.5e6);
    poll_once(s, m, 2);
    ud_metrics_shares(m, 0, 2, &f);
    CHECK(f.known);
    CHECK_NEAR(f.cpu, 0.4, 1e-9);
    CHECK_NEAR(f.memory, 0.25, 1e-9);
    CHECK_NEAR(f.network, 0.1, 1e-9);
    said_begin();
    server_says(401, "{\"error\":\"not you, user:sesame, nor dXNlcjpzZXNhbWU=, nor user:se\"}");
    poll_once(s, m, 3);
    CHECK_EQ_I(ud_source_failing(s, reason), 1);
    CHECK(strstr(reason, "HTTP 401: not you, ***********, nor ****************, nor *******") != NULL);
    server_says(200, "{\"results\":[{\"statement_id\":0}]}");
    poll_once(s, m, 4);
    CHECK(ud_source_failing(s, reason) == 2 && strstr(reason, "the database has no metrics of the last 60 s"));
    server_says(200, "{\"results\":[{\"statement_id\":0");
    poll_once(s, m, 5);
    server_says(500, "oh");
    poll_once(s, m, 6);
    CHECK(ud_source_failing(s, reason) == 4 && strstr(reason, ": HTTP 500"));
    ud_metrics_shares(m, 0, 6, &f);
    CHECK(f.known && f.age_s >= 4); /* what was known stays, and grows old */
    ud_metrics_shares(m, 0, 8, &f);
    CHECK(!f.known);
    influx1_words(text, sizeof text, 1e9 + 9, 70, 100e6);
    server_says(200, text);
    poll_once(s, m, 9);
    CHECK_EQ_I(ud_source_failing(s, reason), 0);
    ud_metrics_shares(m, 0, 9, &f);
    CHECK(f.known);
    CHECK_NEAR(f.cpu, 0.7, 1e-9);
    server_stop();
    poll_once(s, m, 10); /* nobody there */
    CHECK_EQ_I(ud_source_failing(s, reason), 1);
    said = said_end();
    CHECK_EQ_I(times_in(said, "\n"), 2); /* one complaint, one relief; the next complaint in a minute */
    CHECK_EQ_I(times_in(said, "is well again after 4 polls"), 1);
    CHECK(!strstr(said, "sesame") && !strstr(said, "dXNl"));
    said_begin();
    poll_once(s, m, 70);
    CHECK_EQ_I(times_in(said_end(), "\n"), 1);
    ud_source_destroy(s);
    ud_metrics_destroy(m);
}

/* The documented format of Flux's answers, replayed: there is no InfluxDB 2 here to be asked. */
TEST(influx2_flux_by_a_double)
{
    static const char words[] =
        "#datatype,string,long,dateTime:RFC3339,double,string,string,string\r\n"
        "#group,false,false,false,false,true,true,true\r\n#default,_result,,,,,,\r\n"
        ",result,table,_time,_value,_field,_measurement,host\r\n"
        ",,0,2001-09-09T01:46:41Z,60,usage_idle,cpu,a\r\n,,1,2001-09-09T01:46:41Z,25,used_percent,mem,a\r\n\r\n"
        "#datatype,string,long,dateTime:RFC3339,long,string,string,string,string\r\n"
        "#group,false,false,false,false,true,true,true,true\r\n#default,_result,,,,,,,\r\n"
        ",result,table,_time,_value,_field,_measurement,host,interface\r\n"
        ",,2,2001-09-09T01:46:4%dZ,%d,bytes_recv,net,a,eth0\r\n"
        ",,3,2001-09-09T01:46:4%dZ,0,bytes_sent,net,a,eth0\r\n\r\n";
    ud_metrics *m = metrics_of("", 5);
    char text[2000], reason[160], url[120];
    ud_config c;
    ud_source *s;
    ud_shares f;

    REQUIRE(m != NULL);
    REQUIRE(server_start());
    snprintf(url, sizeof url, "influx2:http://127.0.0.1:%d", server.port);
    c = config_of(url);
    snprintf(c.org, sizeof c.org, "my org");
    snprintf(c.database, sizeof c.database, "bucket \"1\"");
    snprintf(c.token, sizeof c.token, "sesame==");
    REQUIRE(ud_source_create(&c, &s));
    ud_metrics_name(m, 0, "a", "");
    snprintf(text, sizeof text, words, 1, 0, 1);
    server_says(200, text);
    poll_once(s, m, 1);
    CHECK(strstr(server_heard(), "POST /api/v2/query?org=my%20org HTTP/1.1\r\n") == server_heard());
    CHECK(strstr(server_heard(), "Authorization: Token sesame==\r\n") != NULL);
    CHECK(strstr(server_heard(), "Content-Type: application/json\r\n") != NULL);
    CHECK(strstr(server_heard(), "from(bucket: \\\"bucket \\\\x221\\\\x22\\\") |> range(start: -60s)") != NULL);
    snprintf(text, sizeof text, words, 2, 12500000, 2);
    poll_once(s, m, 2);
    CHECK_EQ_I(ud_source_failing(s, reason), 0);
    ud_metrics_shares(m, 0, 2, &f);
    CHECK(f.known);
    CHECK_NEAR(f.cpu, 0.4, 1e-9);
    CHECK_NEAR(f.memory, 0.25, 1e-9);
    CHECK_NEAR(f.network, 0.1, 1e-9);
    said_begin();
    server_says(401, "{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}");
    poll_once(s, m, 3);
    CHECK(ud_source_failing(s, reason) == 1 && strstr(reason, "HTTP 401: unauthorized access"));
    server_says(200, "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n"
                     ",no such thing,1\r\n");
    poll_once(s, m, 4);
    CHECK(ud_source_failing(s, reason) == 2 && strstr(reason, "no such thing"));
    CHECK_EQ_I(times_in(said_end(), "\n"), 1);
    ud_source_destroy(s);
    ud_metrics_destroy(m);
    server_stop();
}

static const char node_words[] = "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} %d\n"
                                 "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} %d\n"
                                 "node_memory_MemAvailable_bytes 1\nnode_memory_MemTotal_bytes 4\n"
                                 "node_network_receive_bytes_total{device=\"eth0\"} %d\n"
                                 "node_network_transmit_bytes_total{device=\"eth0\"} 0\n"
                                 "node_time_seconds %d\n";

/* Processors by the difference of two answers, whatever clock they have there; an exporter for each client. */
TEST(prometheus_by_a_double)
{
    ud_metrics *m = metrics_of("", 5);
    char text[2000], url[200], reason[160];
    ud_config c;
    ud_source *s;
    ud_shares f;

    REQUIRE(m != NULL);
    REQUIRE(server_start());
    snprintf(url, sizeof url, "prometheus:a=http://127.0.0.1:%d/metrics,http://127.0.0.1:%d/metrics?x=1", server.port,
             server.port);
    c = config_of(url);
    REQUIRE(ud_source_create(&c, &s));
    ud_metrics_name(m, 0, "a", "");
    ud_metrics_name(m, 1, "b", "127.0.0.1");
    snprintf(text, sizeof text, node_words, 100, 100, 0, 5000);
    server_says(200, text);
    poll_once(s, m, 1);
    CHECK_EQ_I(server_count(&server.requests), 2);
    ud_metrics_shares(m, 0, 1, &f);
    CHECK(!f.known && isnan(f.cpu));
    CHECK_NEAR(f.memory, 0.75, 1e-9);
    snprintf(text, sizeof text, node_words, 103, 101, 12500000, 5001);
    poll_once(s, m, 2.03); /* 30 ms later than the clock there says: the rate does not mind */
    ud_metrics_shares(m, 0, 2.03, &f);
    CHECK(f.known);
    CHECK_NEAR(f.cpu, 0.25, 1e-9);
    CHECK_NEAR(f.network, 0.1, 1e-6);
    CHECK(f.age_s < 0.1);
    ud_metrics_shares(m, 1, 2.03, &f);
    CHECK(f.known);
    snprintf(text, sizeof text, node_words, 1, 1, 5, 9000); /* began anew, with its clock set */
    poll_once(s, m, 3);
    ud_metrics_shares(m, 0, 3, &f);
    CHECK_NEAR(f.cpu, 0.25, 1e-9);
    CHECK_NEAR(f.age_s, 0.97, 0.05);
    snprintf(text, sizeof text, node_words, 1, 2, 5, 9001);
    poll_once(s, m, 4);
    ud_metrics_shares(m, 0, 4, &f);
    CHECK_NEAR(f.cpu, 1, 1e-9);
    CHECK_NEAR(f.network, 0, 1e-9);
    said_begin();
    server_says(200, "up 1\n");
    poll_once(s, m, 5);
    CHECK(ud_source_failing(s, reason) == 1 && strstr(reason, "no metrics of node_exporter in the answer"));
    CHECK_EQ_I(times_in(said_end(), "\n"), 1);
    ud_source_destroy(s);
    ud_metrics_destroy(m);
    server_stop();
}

/* One address for all clients, as they come and go. */
TEST(prometheus_follows_clients)
{
    ud_metrics *m = metrics_of("", 5);
    char text[2000], url[200];
    ud_config c;
    ud_source *s;
    ud_shares f;

    REQUIRE(m != NULL);
    REQUIRE(server_start());
    snprintf(url, sizeof url, "prometheus:http://{}:%d/metrics", server.port);
    c = config_of(url);
    REQUIRE(ud_source_create(&c, &s));
    snprintf(text, sizeof text, node_words, 100, 100, 0, 5000);
    server_says(200, text);
    poll_once(s, m, 1);
    CHECK_EQ_I(server_count(&server.requests), 0);
    ud_metrics_name(m, 0, "a", "127.0.0.1");
    ud_metrics_name(m, 1, "b", "host/../x"); /* nothing but an address gets into one */
    poll_once(s, m, 2);
    CHECK_EQ_I(server_count(&server.requests), 1);
    ud_metrics_name(m, 3, "c", "127.0.0.1");
    poll_once(s, m, 3);
    CHECK_EQ_I(server_count(&server.requests), 3);
    ud_metrics_shares(m, 3, 3, &f);
    CHECK_NEAR(f.memory, 0.75, 1e-9);
    ud_metrics_forget(m, 0);
    poll_once(s, m, 4);
    CHECK_EQ_I(server_count(&server.requests), 4);
    ud_source_destroy(s);
    ud_metrics_destroy(m);
    server_stop();
}

TEST(file_is_read_anew)
{
    ud_metrics *m = metrics_of("", 5);
    char path[64], source[80], reason[160];
    struct timespec past[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
    ud_config c;
    ud_source *s;
    ud_shares f;
    uint64_t turn;

    REQUIRE(m != NULL);
    temporary(path);
    snprintf(source, sizeof source, "file:%s", path);
    c = config_of(source);
    REQUIRE(ud_source_create(&c, &s));
    ud_metrics_name(m, 0, "a", "");
    REQUIRE(file_put(path, HEAD "1000000001,a,40,25,0,0\n1000000002,a,40,25,12.5e6,0\n"));
    REQUIRE(utimensat(AT_FDCWD, path, past, 0) == 0);
    poll_once(s, m, 2);
    ud_metrics_shares(m, 0, 2, &f);
    CHECK(f.known);
    CHECK_NEAR(f.network, 0.1, 1e-9);
    turn = ud_metrics_turn(m);
    poll_once(s, m, 3); /* as it was: not read */
    CHECK_EQ_U(ud_metrics_turn(m), turn);
    CHECK_EQ_I(ud_source_failing(s, reason), 0);
    REQUIRE(file_put(path, HEAD ",a,70,25,25e6,0\n"));
    past[1].tv_sec = 1000000003;
    REQUIRE(utimensat(AT_FDCWD, path, past, 0) == 0);
    poll_once(s, m, 4);
    ud_metrics_shares(m, 0, 4, &f);
    CHECK_NEAR(f.cpu, 0.7, 1e-9);
    CHECK_NEAR(f.age_s, 1, 1e-6); /* no time in it: when it was written */
    said_begin();
    REQUIRE(file_put(path, HEAD "1000000005,a,70\n"));
    poll_once(s, m, 5);
    CHECK(ud_source_failing(s, reason) == 1 && strstr(reason, "2: 3 fields instead of 6"));
    poll_once(s, m, 6);
    unlink(path);
    poll_once(s, m, 7);
    CHECK(ud_source_failing(s, reason) == 3 && strstr(reason, "No such file"));
    CHECK_EQ_I(times_in(said_end(), "\n"), 1);
    ud_metrics_shares(m, 0, 7, &f);
    CHECK(f.known && f.cpu > 0.6);
    ud_source_destroy(s);
    ud_metrics_destroy(m);
}

/* A poll that takes longer than the interval is not doubled, and nobody waits for it; in the end it has failed. */
TEST(slow_database)
{
    ud_metrics *m = metrics_of("", 5);
    char url[120], reason[160];
    double start = ex_clock_s();
    ud_config c;
    ud_source *s;
    int32_t i;

    REQUIRE(m != NULL);
    REQUIRE(server_start());
    snprintf(url, sizeof url, "prometheus:http://127.0.0.1:%d/slow", server.port);
    c = config_of(url);
    REQUIRE(ud_source_create(&c, &s));
    s->timeout_s = 10 * PATIENCE_S;
    for (i = 0; i < 10; i++) {
        s->due_s = i;
        ud_source_turn(s, m, 1e9 + i, i);
        CHECK(s->target[0].busy);
        CHECK(server_count(&server.connections) <= 1);
        ud_source_wait(s, 0.02);
    }
    CHECK(ex_clock_s() - start < PATIENCE_S);
    ud_source_destroy(s);
    REQUIRE(ud_source_create(&c, &s));
    s->timeout_s = 0.1;
    said_begin();
    for (start = ex_clock_s(); ud_source_failing(s, reason) == 0 && ex_clock_s() < start + PATIENCE_S;) {
        ud_source_turn(s, m, 1e9 + i, i);
        ud_source_wait(s, 0.02);
    }
    CHECK(ud_source_failing(s, reason) == 1 && reason[0]);
    CHECK_EQ_I(times_in(said_end(), "\n"), 1);
    ud_source_destroy(s);
    ud_metrics_destroy(m);
    server_stop();
}
