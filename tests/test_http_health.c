/* What the proxy reads in the answers to its checks. The rest of health.c is tested with servers: cli/http_admin.sh. */

#include "rllb.h"
#include "test.h"

#include "../examples/http/health.c"
#include "../examples/http/message.c"

double px_now_s(void)
{
    return 0;
}

int32_t px_policy_server(const px_policy *p, const char *name)
{
    (void)p;
    (void)name;
    return -1;
}

void px_policy_health(px_policy *p, int32_t server, bool up, const px_said *said, double now_s)
{
    (void)p;
    (void)server;
    (void)up;
    (void)said;
    (void)now_s;
}

static px_said json(const char *text)
{
    px_said s;

    px_said_read(PX_METRICS_HEALTH, text, strlen(text), &s);
    return s;
}

TEST(json_as_servers_say_it)
{
    px_said s = json("{\"status\": \"healthy\", \"cpu\" : 12.5 ,\n\t\"active_requests\":3, "
                     "\"avg_response_time\": 1.5e2}");

    CHECK_NEAR(s.cpu, 12.5, 0);
    CHECK_NEAR(s.active, 3, 0);
    CHECK_NEAR(s.response_ms, 150, 0);
    CHECK(isnan(s.busy));
    s = json("[{\"load\":{\"cpu_percent\":0,\"active\":1}}]");
    CHECK_NEAR(s.cpu, 0, 0);
    CHECK_NEAR(s.active, 1, 0);
    CHECK(isnan(s.response_ms));
}

/* What stands in strings is no key, and what is no number is not known. */
TEST(json_that_says_less)
{
    static const char *const texts[] = {
        "", "{", "\"", "\"cpu", "\"cpu\"", "\"cpu\":", "\"cpu\": ", "{\"cpu\":null}", "{\"cpu\":\"5\"}", "{\"cpu\":-5}",
        "{\"cpu\":1e999}", "{\"cpu\":nan}", "{\"cpu\":0x10}", "{\"x\":\"\\\"cpu\\\": 5\"}", "{\"xcpu\":5,\"cpux\":5}",
        "{\"cpu\":999999999999999999999999999999999999999}", "cpu: 5", "{\"x\":\"a\\",
    };
    px_said s;
    int32_t i;

    for (i = 0; i < EX_COUNT(texts); i++) {
        s = json(texts[i]);
        NOTE("%s", texts[i]);
        CHECK(isnan(s.cpu));
        CHECK(isnan(s.active));
    }
}

TEST(apache)
{
    static const char text[] = "Total Accesses: 9\nCPULoad: .1\nBusyWorkers: 7\nIdleWorkers: 1\nScoreboard: _W_K\n";
    px_said s;

    px_said_read(PX_METRICS_APACHE, text, sizeof text - 1, &s);
    CHECK_NEAR(s.busy, 7, 0);
    CHECK(isnan(s.cpu));
    px_said_read(PX_METRICS_APACHE, "BusyWorkers:\nXBusyWorkers: 4", 28, &s);
    CHECK(isnan(s.busy));
    px_said_read(PX_METRICS_APACHE, "BusyWorkers: 12", 14, &s); /* no further than told */
    CHECK_NEAR(s.busy, 1, 0);
    px_said_read(PX_METRICS_NONE, text, sizeof text - 1, &s);
    CHECK(isnan(s.busy));
}

/* Any bytes, in a block of exactly their size. */
TEST(any_bytes)
{
    static const char *const parts[] = { "\"", "\\", "cpu", ":", " ", "5",
                                         "e",  "{",  "-",   "\n", "BusyWorkers:", "active" };
    rllb_rng rng;
    int32_t round, i;

    rllb_rng_init(&rng, 3, 3);
    for (round = 0; round < 20000; round++) {
        ex_text t = { NULL, 0, 0, false };
        px_said s;
        char *exact;
        for (i = rllb_rng_below(&rng, 12); i >= 0; i--) {
            const char *part = parts[rllb_rng_below(&rng, EX_COUNT(parts))];
            ex_text_add(&t, part, strlen(part));
        }
        exact = malloc(t.size);
        REQUIRE(exact);
        memcpy(exact, t.data, t.size);
        px_said_read(round % 2 ? PX_METRICS_HEALTH : PX_METRICS_APACHE, exact, t.size, &s);
        if (!(isnan(s.cpu) || s.cpu >= 0) || !(isnan(s.busy) || s.busy >= 0)) CHECK(false);
        free(exact);
        ex_text_free(&t);
    }
    CHECK_EQ_I(round, 20000);
}
