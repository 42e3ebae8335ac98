/* Settings of the proxy: lines, flags, and what is wrong with them. */

#include "rllb.h"
#include "test.h"

#include "../examples/http/config.c"

#include <sys/stat.h>
#include <unistd.h>

static px_config c;

static bool lines(const char *text, char why[WHY])
{
    px_config_default(&c);
    return px_config_text(&c, "f", text, strlen(text), why);
}

/* The line that is said, "" for none. */
static const char *said(const char *text)
{
    static char why[WHY];

    lines(text, why);
    return why;
}

TEST(defaults)
{
    px_config_default(&c);
    CHECK_STR(c.listen_host, "127.0.0.1");
    CHECK_STR(c.admin_host, "127.0.0.1");
    CHECK_EQ_I(c.listen_port, 8080);
    CHECK_EQ_I(c.server_count, 0);
    CHECK_STR(c.policy, "sed");
    CHECK_STR(c.model, "");
    CHECK_STR(c.state, "");
    CHECK_STR(c.access_log, "");
    CHECK_STR(c.health_path, "");
    CHECK_EQ_I(c.limits.head_bytes, 16384); /* as message.h says */
    CHECK_EQ_I(c.limits.target_bytes, 8192);
    CHECK_EQ_I(c.limits.headers, 100);
    CHECK_EQ_I(c.limits.body_bytes, 1 << 30);
    CHECK_NEAR(c.blend, 1, 0);
    CHECK(!c.shadow);
}

TEST(every_setting_is_taken)
{
    char why[WHY];
    bool ok = lines("# a comment\n\n"
                    "listen [::]:80\r\n"
                    "\tadmin   10.0.0.1:90\t# here\n"
                    "server one 127.0.0.1:8001 connections=7 weight=2.5\n"
                    "server two.x-y_Z [::1]:8002\n"
                    "policy learned\nfallback jiq\nmodel my models/a#b.safetensors # not the comment\n"
                    "state /var/lib/x\nshadow yes\nblend 0.25\ninterval 0.5\nseed 18446744073709551615\n"
                    "levels ms=2.5/10\nkey cookie session\nq-learning least=0.02 alpha=0.5 gamma=0 epsilon=1 decay=1\n"
                    "health /health?x=1 interval=0.5 timeout=0.2 rise=1 fall=9 says=apache\n"
                    "limits head=4k target=1k headers=9 body=2G\nclients 5\nidle-connections 0\nretries 7\nhold 1M\n"
                    "timeouts head=1 idle=2 connect=3 response=4 drain=0\naccess-log a b.csv", why);

    CHECK_STR(why, "");
    REQUIRE(ok);
    CHECK_STR(c.listen_host, "::");
    CHECK_EQ_I(c.listen_port, 80);
    CHECK_STR(c.admin_host, "10.0.0.1");
    CHECK_EQ_I(c.server_count, 2);
    CHECK_STR(c.server[0].name, "one");
    CHECK_EQ_I(c.server[0].connections, 7);
    CHECK_NEAR(c.server[0].weight, 2.5, 0);
    CHECK_STR(c.server[1].host, "::1");
    CHECK_EQ_I(c.server[1].port, 8002);
    CHECK_NEAR(c.server[1].weight, 1, 0);
    CHECK_STR(c.policy, "learned");
    CHECK_STR(c.fallback, "jiq");
    CHECK_STR(c.model, "my models/a#b.safetensors");
    CHECK_STR(c.state, "/var/lib/x");
    CHECK(c.shadow);
    CHECK_NEAR(c.blend, 0.25, 0);
    CHECK_EQ_U(c.seed, UINT64_MAX);
    CHECK_EQ_I(c.key, PX_KEY_COOKIE);
    CHECK_STR(c.key_name, "session");
    CHECK_NEAR(c.q_epsilon_min, 0.02, 0);
    CHECK_NEAR(c.q_gamma, 0, 0);
    CHECK_NEAR(c.q_levels[0][1], 80, 0);
    CHECK_NEAR(c.q_levels[2][0], 2.5, 0);
    CHECK_STR(c.health_path, "/health?x=1");
    CHECK_EQ_I(c.health_fall, 9);
    CHECK_EQ_I(c.metrics, PX_METRICS_APACHE);
    CHECK_EQ_I(c.limits.head_bytes, 4096);
    CHECK_EQ_I(c.limits.body_bytes, (int64_t)2 << 30);
    CHECK_EQ_I(c.retries, 7);
    CHECK_EQ_I(c.hold_bytes, 1 << 20);
    CHECK_NEAR(c.response_s, 4, 0);
    CHECK_NEAR(c.drain_s, 0, 0);
    CHECK_STR(c.access_log, "a b.csv");
    CHECK(lines("admin off\nhealth off\nkey none\nlisten 81\n", why));
    CHECK_EQ_I(c.admin_port, -1);
    CHECK_STR(c.listen_host, "127.0.0.1");
    CHECK_EQ_I(c.listen_port, 81);
}

TEST(what_is_wrong_is_one_line)
{
    static const char *const wrong[][2] = {
        { "sever a 1.1.1.1:1", "f:1: no setting 'sever'; did you mean server?" },
        { "\n\nxyzzy 1", "f:3: no setting 'xyzzy'; --help lists them" },
        { "retries", "f:1: its value is missing: retries N" },
        { "retries 1 2", "f:1: '2' is one too many: retries N" },
        { "retries 8", "f:1: 8 is out of range, must be 0 to 7" },
        { "retries 1.5", "f:1: '1.5' is not a whole number" },
        { "retries 1\nretries 2", "f:2: retries is set in line 1 already" },
        { "blend nan", "f:1: 'nan' is not a number" },
        { "blend 1e999", "f:1: '1e999' is not a number" },
        { "shadow maybe", "f:1: no 'maybe' here; one of: no, yes" },
        { "policy lernd", "f:1: no 'lernd' here; did you mean learned?" },
        { "policy gsq", "f:1: gsq sees what only a simulator can: it is no policy for a proxy" },
        { "policy choose", "f:1: no policy 'choose'; --help lists them" },
        { "fallback hlb", "f:1: hlb is no fallback; one of: sed, nq, lsq, round_robin, weighted_round_robin, ecmp, "
                          "wcmp, p2c, p2c_weighted, draw, jiq" },
        { "server a", "f:1: its address is missing: server NAME ADDRESS:PORT [weight=W] [connections=N]" },
        { "server a localhost:80", "f:1: 'localhost' is no numeric address, such as 127.0.0.1; names are not looked "
                                   "up" },
        { "server a 127.0.0.1", "f:1: '127.0.0.1' ends in no port: ADDRESS:PORT is wanted, a port from 1 to 65535" },
        { "server a 127.0.0.1:0", "f:1: '127.0.0.1:0' ends in no port: ADDRESS:PORT is wanted, a port from 1 to "
                                  "65535" },
        { "server a 127.0.0.256:1", "f:1: '127.0.0.256' is no numeric address, such as 127.0.0.1; names are not looked "
                                    "up" },
        { "server a ::1:80", "f:1: '::1:80': an IPv6 address stands in brackets, [::1]:80" },
        { "server a 80", "f:1: '80': ADDRESS:PORT is wanted" },
        { "server <b> 1.1.1.1:1", "f:1: the name '<b>' must be at most 31 letters, digits, dots, dashes and "
                                  "underscores" },
        { "server a 1.1.1.1:1\nserver a 1.1.1.1:2", "f:2: there is a server a already" },
        { "server a 1.1.1.1:1 wieght=1", "f:1: server has no 'wieght'; did you mean weight=?" },
        { "server a 1.1.1.1:1 weight=0", "f:1: weight=0 is out of range, must be 0.001 to 1000" },
        { "server a 1.1.1.1:1 weight=1 weight=1", "f:1: weight= is there twice" },
        { "key header", "f:1: key header takes one name" },
        { "key header a:b", "f:1: 'a:b' is no name of a header" },
        { "key address x", "f:1: key address takes no name" },
        { "health health", "f:1: 'health' is no path: it starts with / and is plain" },
        { "health / fall=0", "f:1: fall=0 is out of range, must be 1 to 100" },
        { "levels ms=5", "f:1: ms='5' should be LOW/HIGH, such as 50/80, from 0 to 1000000" },
        { "levels ms=5/5", "f:1: ms='5/5' should be LOW/HIGH, such as 50/80, from 0 to 1000000" },
        { "limits body=1T", "f:1: body='1T' is not a number of bytes, such as 65536 or 64k" },
        { "limits head=16385", "f:1: head=16385 is out of range, must be 256 to 16384" },
        { "state a\001b", "f:1: the byte 0x01 is no text" },
    };
    int32_t i;

    for (i = 0; i < EX_COUNT(wrong); i++) CHECK_STR(said(wrong[i][0]), wrong[i][1]);
}

TEST(zeros_and_long_lines_are_refused)
{
    char text[LINE_MOST + 100], why[WHY];

    px_config_default(&c);
    CHECK(!px_config_text(&c, "f", "seed 1\0", 7, why));
    CHECK_STR(why, "f:1: the byte 0x00 is no text");
    memset(text, ' ', sizeof text);
    CHECK(!px_config_text(&c, "f", text, sizeof text, why));
    CHECK_STR(why, "f:1: the line is longer than 999 bytes");
    memset(text, 'x', 400);
    memcpy(text, "state ", 6);
    CHECK(!px_config_text(&c, "f", text, 400, why));
}

TEST(too_many_servers_are_refused)
{
    ex_text t = { NULL, 0, 0, false };
    char why[WHY];
    int32_t i;

    for (i = 0; i <= PX_SERVERS_MOST; i++) ex_text_printf(&t, "server s%d 127.0.0.1:80\n", (int)i);
    px_config_default(&c);
    CHECK(!px_config_text(&c, "f", t.data, t.size, why));
    CHECK_STR(why, "f:1025: more than 1024 servers");
    ex_text_free(&t);
}

TEST(the_sample_file_is_right)
{
    static char program[] = "proxy", config[] = "--config", path[] = "examples/http/proxy.conf";
    char *argv[] = { program, config, path, NULL };
    px_config standard;

    px_config_default(&standard);
    CHECK_EQ_I(px_config_parse(&c, 3, argv), EX_GO_ON);
    CHECK_EQ_I(c.server_count, 3);
    CHECK_STR(c.policy, "learned");
    CHECK_STR(c.health_path, "/health");
    CHECK_MEM(&c.limits, &standard.limits, sizeof c.limits);
}

/* The commented lines of the sample show the defaults. */
TEST(the_sample_file_shows_the_defaults)
{
    ex_text file = { NULL, 0, 0, false };
    static px_config standard;
    char why[WHY], *line;
    int32_t shown = 0;

    REQUIRE(ex_file_read("examples/http/proxy.conf", 1 << 16, &file));
    px_config_default(&standard);
    px_config_default(&c);
    for (line = strtok(file.data, "\n"); line; line = strtok(NULL, "\n")) {
        char word[40] = "";
        if (line[0] != '#' || line[1] != ' ' || sscanf(line + 2, "%39s", word) != 1) continue;
        if (!setting_of(word) || strstr(line, "NAME ADDRESS")) continue;
        CHECK(px_config_text(&c, "sample", line + 2, strlen(line + 2), why));
        shown++;
    }
    CHECK(shown >= 15);
    CHECK_MEM(&c, &standard, sizeof c);
    ex_text_free(&file);
}

TEST(flags_win_and_a_reload_reads_again)
{
    char path[80], file[100], one[] = "--server", a[] = "x 127.0.0.1:9", b[] = "y 127.0.0.1:10 weight=3",
         policy[] = "--policy=lsq", program[] = "proxy";
    char *argv[] = { program, file, one, a, one, b, policy, NULL };

    snprintf(path, sizeof path, "build/test/config-%ld.conf", (long)getpid());
    snprintf(file, sizeof file, "--config=%s", path);
    mkdir("build", 0777);
    mkdir("build/test", 0777);
    REQUIRE(ex_file_write(path, "server f 127.0.0.1:1\npolicy nq\nretries 1\n", 40));
    CHECK_EQ_I(px_config_parse(&c, 7, argv), EX_GO_ON);
    CHECK_EQ_I(c.server_count, 2);
    CHECK_STR(c.server[1].name, "y");
    CHECK_STR(c.policy, "lsq");
    CHECK_EQ_I(c.retries, 1);
    CHECK_STR(c.path, path);
    CHECK(ex_file_write(path, "retries 3\n", 10));
    CHECK(px_config_again(&c));
    CHECK_EQ_I(c.server_count, 2);
    CHECK_EQ_I(c.retries, 3);
    CHECK(ex_file_write(path, "retires 3\n", 10));
    CHECK(!px_config_again(&c));
    CHECK_EQ_I(px_config_parse(&c, 2, argv), EX_USAGE);
    remove(path);
    CHECK(!px_config_again(&c));
    CHECK_EQ_I(px_config_parse(&c, 1, argv), EX_USAGE); /* no server at all */
}
