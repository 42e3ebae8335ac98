/* Who the clients of the UDP allocator are, and how they are: the readers of lists and of Nomad's answers, coming and
   going while requests are under way, DNS, Nomad, probes and silence. Web, DNS and metrics are doubles in this file:
   there is no Nomad here. Probes go to real sockets. Time is a number. */

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>

/* DNS is asked once: the thread that would ask again every few seconds waits until it may leave. */
#define pthread_cond_timedwait(condition, lock, until) ((void)(until), pthread_cond_wait(condition, lock))
static int double_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **out);
static void double_freeaddrinfo(struct addrinfo *all);
#define getaddrinfo double_getaddrinfo
#define freeaddrinfo double_freeaddrinfo
#include "../examples/udp/clients.c"
#include "../examples/udp/health.c"

#include "said.h"
#include "test.h"

/* ---- doubles ----------------------------------------------------------------------------------------------------- */

struct ud_metrics {
    char name[UD_CLIENTS_MOST][UD_NAME_MOST], address[UD_CLIENTS_MOST][64];
};

void ud_metrics_name(ud_metrics *m, int32_t client, const char *name, const char *address)
{
    snprintf(m->name[client], UD_NAME_MOST, "%s", name);
    snprintf(m->address[client], 64, "%s", address);
}

void ud_metrics_forget(ud_metrics *m, int32_t client)
{
    m->name[client][0] = m->address[client][0] = '\0';
}

enum { ASKS = 4 };

struct ud_web {
    struct {
        char url[1600], token[300];
        ud_web_fn fn;
        void *user;
        bool open;
    } ask[ASKS];
    int32_t asked;
};

bool ud_web_ask(ud_web *w, const char *url, const char *const *headers, const char *body, const char *want,
                double timeout_s, ud_web_fn fn, void *user)
{
    int32_t i;

    for (i = 0; i < ASKS && w->ask[i].open; i++) {}
    CHECK(i < ASKS && !body && strcmp(want, "X-Nomad-Index") == 0 && timeout_s > 64);
    if (i == ASKS) return false;
    snprintf(w->ask[i].url, sizeof w->ask[i].url, "%s", url);
    snprintf(w->ask[i].token, sizeof w->ask[i].token, "%s", headers && headers[0] ? headers[0] : "");
    w->ask[i].fn = fn;
    w->ask[i].user = user;
    w->ask[i].open = true;
    w->asked++;
    return true;
}

/* The open question whose address holds `part`; -1: there is none. */
static int32_t asked(const ud_web *w, const char *part)
{
    int32_t i;

    for (i = 0; i < ASKS; i++) {
        if (w->ask[i].open && strstr(w->ask[i].url, part)) return i;
    }
    return -1;
}

static bool answer(ud_web *w, const char *part, int32_t status, const char *text, const char *header)
{
    int32_t i = asked(w, part);
    ud_answer a;
    char *exact = malloc(strlen(text) + 1);

    if (i < 0 || !exact) {
        free(exact);
        return false;
    }
    memset(&a, 0, sizeof a);
    memcpy(exact, text, strlen(text)); /* no end of text: a size */
    exact[strlen(text)] = status ? 'x' : '\0';
    a.status = status;
    a.text = exact;
    a.size = strlen(text);
    snprintf(a.header, sizeof a.header, "%s", header);
    w->ask[i].open = false;
    w->ask[i].fn(w->ask[i].user, &a);
    free(exact);
    return true;
}

static pthread_mutex_t dns_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    int error, asks;
    const char *four[4], *six[4]; /* addresses */
} dns;

static int double_getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    const char *const *all;
    struct addrinfo **end = out;
    int i, error = EAI_NONAME;

    (void)name;
    pthread_mutex_lock(&dns_lock);
    dns.asks++;
    all = hints->ai_family == AF_INET ? dns.four : dns.six;
    if (dns.error) error = dns.error;
    *out = NULL;
    for (i = 0; i < 4 && all[i] && !dns.error; i++) {
        struct addrinfo *a = calloc(1, sizeof *a);
        struct sockaddr_storage *to = calloc(1, sizeof *to);
        struct sockaddr_in *four = (struct sockaddr_in *)(void *)to;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)to;
        if (!a || !to) abort();
        a->ai_family = hints->ai_family;
        a->ai_addr = (struct sockaddr *)(void *)to;
        if (a->ai_family == AF_INET) {
            four->sin_port = htons((uint16_t)atoi(port));
            inet_pton(AF_INET, all[i], &four->sin_addr);
        } else {
            six->sin6_port = htons((uint16_t)atoi(port));
            inet_pton(AF_INET6, all[i], &six->sin6_addr);
        }
        *end = a;
        end = &a->ai_next;
        error = 0;
    }
    pthread_mutex_unlock(&dns_lock);
    return error;
}

static void double_freeaddrinfo(struct addrinfo *all)
{
    while (all) {
        struct addrinfo *next = all->ai_next;
        free(all->ai_addr);
        free(all);
        all = next;
    }
}

/* ---- a world of them --------------------------------------------------------------------------------------------- */

typedef struct world {
    ud_config c;
    rllb_balancer *b; /* picks and keeps */
    ud_board board;
    ud_metrics metrics;
    ud_web web;
    ud_clients *l;
    ud_health *h;
    double now_s;
} world;

static bool world_begin(world *w, const char *clients)
{
    rllb_balancer_desc d;

    rllb_balancer_desc_default(&d);
    d.capacity = UD_CLIENTS_MOST;
    d.guard.minimum_share = RLLB_OFF;
    d.guard.slow_start_s = RLLB_OFF;
    w->now_s = 1;
    snprintf(w->c.clients, sizeof w->c.clients, "%s", clients);
    w->b = rllb_balancer_create(&d);
    return w->b && ud_clients_create(&w->c, w->b, &w->board, &w->metrics, &w->web, w->now_s, &w->l);
}

static world *world_open(const char *clients)
{
    world *w = calloc(1, sizeof *w);
    bool ok = w && world_begin(w, clients);

    CHECK(ok);
    return ok ? w : NULL;
}

static void world_close(world *w)
{
    ud_health_destroy(w->h);
    ud_clients_destroy(w->l);
    rllb_balancer_destroy(w->b);
    free(w);
}

static void later(world *w, double seconds)
{
    w->now_s += seconds;
    ud_clients_turn(w->l, w->now_s);
    rllb_balancer_tick(w->b, w->now_s);
}

static rllb_server_info info_of(const world *w, int32_t j)
{
    rllb_server_info info;

    memset(&info, 0, sizeof info);
    rllb_balancer_server(w->b, j, &info);
    return info;
}

/* "a 10.0.0.1:5 up, ..." by index, for comparing. */
static const char *all_of(const world *w)
{
    static const char *const states[] = { "gone", "up", "drains", "down", "ejected" };
    static char text[1024];
    size_t used = 0;
    int32_t j;

    text[0] = '\0';
    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        rllb_server_info info = info_of(w, j);
        struct sockaddr_in6 at;
        char host[INET6_ADDRSTRLEN] = "";
        uint32_t put = 0;
        const char *name = ud_clients_name(w->l, j);
        if (!name) continue;
        if (!ud_seat_get(&w->board.seat[j], &at, &put)) return "a client without an address";
        address_text(&at, host);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d %s %s:%d %s", used ? ", " : "", (int)j, name,
                                 host, (int)ntohs(at.sin6_port), states[info.state]);
        if (strcmp(info.name, name) != 0) return "a client of another name";
    }
    return text;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

TEST(lists)
{
    ud_place p[4];
    char why[160];

    CHECK_EQ_I(ud_parse_clients("10.0.0.5:5005,b=10.0.0.6:5006*2.5,[fd00::7]:7,host.example:1", p, 4, why), 4);
    CHECK_STR(p[0].name, "10.0.0.5:5005");
    CHECK_STR(p[0].node, "10.0.0.5");
    CHECK_STR(p[0].host, "10.0.0.5");
    CHECK_EQ_I(p[0].port, 5005);
    CHECK_NEAR(p[0].weight, 1, 0);
    CHECK_STR(p[1].name, "b");
    CHECK_STR(p[1].node, "b");
    CHECK_EQ_I(p[1].port, 5006);
    CHECK_NEAR(p[1].weight, 2.5, 0);
    CHECK_STR(p[2].name, "[fd00::7]:7");
    CHECK_STR(p[2].host, "fd00::7");
    CHECK_STR(p[3].host, "host.example");
}

TEST(lists_that_are_wrong)
{
    static const char *const cases[][2] = {
        { "", "should be [name=]host:port" },
        { "10.0.0.5", "should be" },
        { "10.0.0.5:", "a port is 1 to 65535" },
        { "10.0.0.5:0", "a port" },
        { "10.0.0.5:65536", "a port" },
        { "10.0.0.5:5 ", "a port" },
        { ":5", "is no host" },
        { "a b:5", "is no host" },
        { "fd00::7:5", "should be" },
        { "[fd00::7:5", "should be" },
        { "=10.0.0.5:5", "a name is" },
        { "a\"b=10.0.0.5:5", "a name is" },
        { "12345678901234567890123456789012=10.0.0.5:5", "at most 31" },
        { "10.0.0.5:5*0", "a weight" },
        { "10.0.0.5:5*-1", "a weight" },
        { "10.0.0.5:5*nan", "a weight" },
        { "10.0.0.5:5*1e9", "a weight" },
        { "10.0.0.5:5*", "a weight" },
        { "10.0.0.5:5,", "should be" },
        { "10.0.0.5:5,10.0.0.5:5", "is there twice" },
        { "a=10.0.0.5:5,a=10.0.0.6:5", "its name is there twice" },
        { "1.1.1.1:1,1.1.1.2:1,1.1.1.3:1,1.1.1.4:1,1.1.1.5:1", "more than 4 clients" },
    };
    ud_place p[4];
    char why[160];
    int32_t i;

    for (i = 0; i < EX_COUNT(cases); i++) {
        NOTE("%s", cases[i][0]);
        CHECK_EQ_I(ud_parse_clients(cases[i][0], p, 4, why), -1);
        CHECK(strstr(why, cases[i][1]) != NULL);
    }
}

TEST(a_list_joins_in_its_order)
{
    world *w;

    memset(&dns, 0, sizeof dns);
    dns.four[0] = "10.0.0.9";
    w = world_open("b=10.0.0.6:5*2,10.0.0.5:5,c=[fd00::7]:7,d=host.example:9");
    REQUIRE(w);
    CHECK_STR(all_of(w), "0 b 10.0.0.6:5 up, 1 10.0.0.5:5 10.0.0.5:5 up, 2 c fd00::7:7 up, 3 d 10.0.0.9:9 up");
    CHECK_NEAR((double)info_of(w, 0).weight, 2, 0);
    CHECK_EQ_I(ud_clients_count(w->l), 4);
    CHECK_STR(w->metrics.name[0], "b");
    CHECK_STR(w->metrics.address[0], "10.0.0.6");
    CHECK_STR(w->metrics.name[1], "10.0.0.5");
    CHECK_STR(w->metrics.name[3], "d");
    CHECK_STR(w->metrics.address[3], "10.0.0.9");
    later(w, 100);
    CHECK_EQ_I(ud_clients_count(w->l), 4);
    CHECK(!ud_clients_name(w->l, 4) && !ud_clients_name(w->l, -1) && !ud_clients_name(w->l, UD_CLIENTS_MOST));
    world_close(w);
}

TEST(settings_that_are_wrong)
{
    static const char *const cases[] = {
        "nobody",  "0.0.0.0:5",      "224.0.0.1:5",         "[ff02::1]:5",       "[::]:5",
        "dns:x",   "dns:x:0",        "dns::5",              "nomad:x/y",         "nomad:http:///y",
        "nomad:http://h:1",          "nomad:http://h:1/",   "nomad:http://h:1/a b", "nomad:ftp://h:1/y",
        "nomad:http://h:1/y?index=7", "nomad:http://h:1/y?namespace=",
    };
    int32_t i;

    memset(&dns, 0, sizeof dns);
    for (i = 0; i < EX_COUNT(cases); i++) {
        world *w = calloc(1, sizeof *w);
        REQUIRE(w);
        catch_stderr();
        CHECK(!world_begin(w, cases[i]));
        CHECK_EQ_I(release_stderr(), 1);
        NOTE("%s: %s", cases[i], said);
        CHECK(strstr(said, "--clients") != NULL && !w->l);
        world_close(w);
    }
}

/* ---- DNS --------------------------------------------------------------------------------------------------------- */

/* As if the thread had asked again. */
static void dns_says(world *w, const char *a, const char *b, const char *why)
{
    resolver *r = w->l->dns;
    struct sockaddr_in6 at;

    pthread_mutex_lock(&r->lock);
    r->count = 0;
    if (a && address_of(a, 5, &at)) r->at[r->count++] = at;
    if (b && address_of(b, 5, &at)) r->at[r->count++] = at;
    snprintf(r->why, sizeof r->why, "%s", why);
    r->answers++;
    pthread_mutex_unlock(&r->lock);
}

static bool first_answer(world *w)
{
    int32_t i;

    for (i = 0; i < 60000 && ud_clients_count(w->l) == 0; i++) {
        struct timespec pause = { 0, 1000000 };
        nanosleep(&pause, NULL);
        ud_clients_turn(w->l, w->now_s);
    }
    return ud_clients_count(w->l) > 0;
}

TEST(dns_comes_and_goes)
{
    world *w;

    memset(&dns, 0, sizeof dns);
    dns.four[0] = "10.0.0.7";
    dns.four[1] = "10.0.0.6";
    dns.six[0] = "fd00::7";
    w = world_open("dns:clients.example:5");
    REQUIRE(w && first_answer(w));
    CHECK_STR(all_of(w), "0 10.0.0.6 10.0.0.6:5 up, 1 10.0.0.7 10.0.0.7:5 up");
    dns_says(w, "10.0.0.7", "10.0.0.8", "");
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 10.0.0.6 10.0.0.6:5 drains, 1 10.0.0.7 10.0.0.7:5 up, 2 10.0.0.8 10.0.0.8:5 up");
    catch_stderr();
    dns_says(w, NULL, NULL, "no such name");
    later(w, 0.1);
    dns_says(w, NULL, NULL, "no such name");
    later(w, 0.1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "no such name: nobody is found there; the 3 clients of before stay") != NULL);
    later(w, 1);
    CHECK_STR(all_of(w), "1 10.0.0.7 10.0.0.7:5 up, 2 10.0.0.8 10.0.0.8:5 up");
    CHECK_STR(w->metrics.name[0], "");
    catch_stderr();
    dns_says(w, "10.0.0.7", "10.0.0.9", "");
    later(w, 0.1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK_STR(all_of(w), "0 10.0.0.9 10.0.0.9:5 up, 1 10.0.0.7 10.0.0.7:5 up, 2 10.0.0.8 10.0.0.8:5 drains");
    world_close(w);
}

TEST(dns_with_addresses_of_six_alone)
{
    world *w;

    memset(&dns, 0, sizeof dns);
    dns.six[0] = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1";
    dns.six[1] = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:2";
    w = world_open("dns:clients.example:5");
    REQUIRE(w && first_answer(w));
    CHECK_EQ_I(ud_clients_count(w->l), 2); /* too long for a name: their ends differ */
    CHECK_STR(ud_clients_name(w->l, 0), ":db8:aaaa:bbbb:cccc:dddd:eeee:1");
    CHECK(strcmp(ud_clients_name(w->l, 0), ud_clients_name(w->l, 1)) != 0);
    CHECK_STR(w->metrics.address[1], "2001:db8:aaaa:bbbb:cccc:dddd:eeee:2");
    world_close(w);
}

/* ---- Nomad's answers --------------------------------------------------------------------------------------------- */

#define SERVICE(address, port, alloc)                                                                             \
    "{\"Address\":\"" address "\",\"AllocID\":\"" alloc "\",\"CreateIndex\":14,\"Datacenter\":\"dc1\","           \
    "\"ID\":\"_nomad-task-" alloc "\",\"JobID\":\"a/b\",\"ModifyIndex\":24,\"Namespace\":\"edge\","               \
    "\"NodeID\":\"7406e90b-de16-d118-80fe-60d0f2730cb3\",\"Port\":" port ",\"ServiceName\":\"udp\",\"Tags\":[]}"
#define ALLOC(id, name, node, client, desired)                                                                   \
    "{\"ID\":\"" id "\",\"EvalID\":\"e\",\"Name\":\"" name "\",\"NodeName\":\"" node "\",\"JobID\":\"a/b\","     \
    "\"TaskGroup\":\"g\",\"DesiredStatus\":\"" desired "\",\"ClientStatus\":\"" client "\",\"TaskStates\":null}"

TEST(services)
{
    static const char text[] = "[" SERVICE("10.0.0.5", "29702", "aa") ",7,null,{},{\"Address\":7,\"Port\":7},"
        "{\"Address\":\"10.0.0.6\",\"Port\":\"7\"},{\"Address\":\"10.0.0.6\",\"Port\":70000},"
        "{\"Address\":\"not.an.address\",\"Port\":7},{\"Address\":\"0.0.0.0\",\"Port\":7},"
        "{\"Address\":\"10.0.0.5\",\"Port\":29702,\"AllocID\":\"twice\"},"
        "{\"Address\":\"fd00::1\",\"Port\":7,\"Tags\":[1,\"weight=x\",\"weight=2.5\"]}]";
    ud_place p[8];
    char why[160];

    CHECK_EQ_I(ud_parse_services(text, sizeof text - 1, p, 8, why), 2);
    CHECK_STR(why, "8 registrations cannot be used");
    CHECK_STR(p[0].host, "10.0.0.5");
    CHECK_EQ_I(p[0].port, 29702);
    CHECK_STR(p[0].alloc, "aa");
    CHECK_STR(p[0].job, "a/b");
    CHECK_STR(p[0].space, "edge");
    CHECK_NEAR(p[0].weight, 1, 0);
    CHECK_STR(p[1].name, "[fd00::1]:7");
    CHECK_NEAR(p[1].weight, 2.5, 0);
    CHECK_EQ_I(ud_parse_services("[]", 2, p, 8, why), 0);
    CHECK_STR(why, "");
    CHECK_EQ_I(ud_parse_services("{}", 2, p, 8, why), -1);
    CHECK_STR(why, "the answer is no JSON array");
    CHECK_EQ_I(ud_parse_services(text, sizeof text - 5, p, 8, why), -1); /* half an answer */
    CHECK_STR(why, "the answer is no JSON");
    CHECK_EQ_I(ud_parse_services("", 0, p, 8, why), -1);
    CHECK_EQ_I(ud_parse_services(text, sizeof text - 1, p, 1, why), 1);
}

TEST(allocations)
{
    static const char text[] = "[" ALLOC("aa", "a/b.g[0]", "n1", "running", "run") ","
        ALLOC("bb", "a/b.g[1]", "n2", "complete", "run") "," ALLOC("cc", "a/b.g[2]", "n3", "running", "stop") ","
        ALLOC("dd", "a/b.g[3]", "n4", "pending", "run") ",{\"ID\":7},[]]";
    ud_alloc a[8];
    char why[160];

    CHECK_EQ_I(ud_parse_allocations(text, sizeof text - 1, a, 8, why), 4);
    CHECK_STR(why, "2 allocations cannot be used");
    CHECK_STR(a[0].id, "aa");
    CHECK_STR(a[0].name, "a/b.g[0]");
    CHECK_STR(a[0].node, "n1");
    CHECK(a[0].running && !a[1].running && !a[2].running && !a[3].running);
    CHECK_EQ_I(ud_parse_allocations("null", 4, a, 8, why), -1);
}

/* ---- Nomad: a double in place of it ------------------------------------------------------------------------------ */

#define TWO "[" SERVICE("10.0.0.6", "6", "bb") "," SERVICE("10.0.0.5", "5", "aa") "]"
#define BOTH_RUN "[" ALLOC("aa", "a/b.g[0]", "n1", "running", "run") "," \
                 ALLOC("bb", "a/b.g[1]", "n2", "running", "run") "]"

static world *nomad_with_two(void)
{
    world *w = world_open("nomad:http://10.0.0.4:4646/udp");

    if (!w) return NULL;
    later(w, 0.1);
    CHECK(answer(&w->web, "/v1/service/udp", 200, TWO, "12"));
    later(w, 0.1);
    CHECK(answer(&w->web, "/allocations", 200, BOTH_RUN, "13"));
    later(w, 0.1);
    later(w, 0.3);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up");
    return w;
}

TEST(double_of_nomad_first_round)
{
    world *w;
    int32_t i;

    setenv("NOMAD_TOKEN", "aa534e09-6a07", 1);
    w = world_open("nomad:http://10.0.0.4:4646/udp?namespace=ed%67e&region=eu");
    REQUIRE(w);
    later(w, 0.1);
    i = asked(&w->web, "/v1/service/");
    REQUIRE(i >= 0);
    CHECK_STR(w->web.ask[i].url,
              "http://10.0.0.4:4646/v1/service/udp?index=0&wait=60s&namespace=ed%2567e&region=eu");
    CHECK_STR(w->web.ask[i].token, "X-Nomad-Token: aa534e09-6a07");
    CHECK_EQ_I(w->web.asked, 1);
    later(w, 0.1);
    CHECK_EQ_I(w->web.asked, 1); /* it waits */
    CHECK(answer(&w->web, "/v1/service/", 200, TWO, "12"));
    later(w, 0.1);
    CHECK_STR(all_of(w), ""); /* do they run? */
    i = asked(&w->web, "/allocations");
    REQUIRE(i >= 0);
    CHECK(strstr(w->web.ask[i].url, "/v1/job/a%2Fb/allocations?index=0&wait=60s&namespace=ed%2567e&region=eu") != NULL);
    CHECK(answer(&w->web, "/allocations", 200, "[" ALLOC("aa", "a/b.g[0]", "n1", "running", "run") ","
                 ALLOC("bb", "a/b.g[1]", "n2", "pending", "run") "]", "13"));
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up");
    CHECK_STR(w->metrics.name[0], "n1"); /* an agent's metrics come under its node's name */
    CHECK_STR(w->metrics.address[0], "10.0.0.5");
    later(w, 0.3);
    CHECK(asked(&w->web, "/v1/service/udp?index=12&") >= 0);
    CHECK(asked(&w->web, "/allocations?index=13&") >= 0);
    CHECK(answer(&w->web, "/allocations", 200, BOTH_RUN, "14"));
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up");
    unsetenv("NOMAD_TOKEN");
    world_close(w);
}

TEST(double_of_nomad_index)
{
    world *w = nomad_with_two();

    REQUIRE(w);
    CHECK(asked(&w->web, "udp?index=12&") >= 0);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "12")); /* a minute went by: the same again */
    later(w, 0.1);
    CHECK(asked(&w->web, "/v1/service") < 0); /* never at once */
    later(w, 0.2);
    CHECK(asked(&w->web, "udp?index=12&") >= 0);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "4")); /* it ran backwards */
    later(w, 0.1);
    later(w, 1);
    CHECK(asked(&w->web, "udp?index=0&") >= 0);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "4"));
    later(w, 0.1);
    later(w, 0.3);
    CHECK(asked(&w->web, "udp?index=4&") >= 0);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "")); /* none: it is asked now and then */
    later(w, 0.1);
    later(w, 0.5);
    CHECK(asked(&w->web, "/v1/service") < 0);
    later(w, 0.6);
    CHECK(asked(&w->web, "udp?index=0&") >= 0);
    CHECK_EQ_I(ud_clients_count(w->l), 2);
    world_close(w);
}

/* Whatever comes in place of an answer: who was there stays, it is said once, and asked ever more rarely. */
TEST(double_of_nomad_fails)
{
    static const struct {
        int32_t status;
        const char *text, *words;
    } cases[] = {
        { 0, "Connection refused", "Connection refused; the 2 clients of before stay" },
        { 403, "Permission denied", "the token is refused (403)" },
        { 500, "rpc error: No cluster leader", "the answer is 500" },
        { 200, "<html>", "the answer is no JSON" },
        { 200, "[{\"Address\":", "the answer is no JSON" },
        { 200, "{\"a\":1}", "the answer is no JSON array" },
    };
    int32_t i, k;

    for (i = 0; i < EX_COUNT(cases); i++) {
        world *w = nomad_with_two();
        double waited_s = 0, before_s = 0;
        REQUIRE(w);
        catch_stderr();
        for (k = 0; k < 8; k++) {
            before_s = w->now_s;
            while (asked(&w->web, "/v1/service") < 0 && w->now_s < before_s + 100) later(w, 0.1);
            waited_s = w->now_s - before_s;
            answer(&w->web, "/v1/service", cases[i].status, cases[i].text, "99");
        }
        later(w, 0.1);
        CHECK_EQ_I(release_stderr(), 1);
        CHECK(strstr(said, cases[i].words) != NULL);
        NOTE("%s", said);
        CHECK_NEAR(waited_s, 30, 0.3);
        CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up");
        while (asked(&w->web, "/v1/service") < 0 && w->now_s < before_s + 300) later(w, 0.1);
        CHECK(asked(&w->web, "udp?index=0&") >= 0); /* who answers next may be another, with indices of its own */
        catch_stderr();
        answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "]", "3");
        later(w, 0.1);
        CHECK_EQ_I(release_stderr(), 1);
        CHECK(strstr(said, "udp: answers again") != NULL);
        CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 drains");
        world_close(w);
    }
}

TEST(double_of_nomad_knows_nobody)
{
    world *w = nomad_with_two();
    int32_t k;

    REQUIRE(w);
    catch_stderr();
    for (k = 0; k < 3; k++) {
        CHECK(answer(&w->web, "/v1/service", 200, "[]", "20"));
        later(w, 0.1);
        later(w, 0.3);
    }
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "21"));
    CHECK(answer(&w->web, "/allocations", 200, "[" ALLOC("aa", "a/b.g[0]", "n1", "lost", "run") ","
                 ALLOC("bb", "a/b.g[1]", "n2", "failed", "run") "]", "22")); /* nobody runs */
    later(w, 0.1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "nomad: udp: nobody is found there; the 2 clients of before stay") != NULL);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up");
    world_close(w);
}

/* Without the right to read jobs, whoever is registered counts. */
TEST(double_of_nomad_without_allocations)
{
    world *w = world_open("nomad:http://10.0.0.4:4646/udp");

    REQUIRE(w);
    later(w, 0.1);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "12"));
    later(w, 0.1);
    catch_stderr();
    CHECK(answer(&w->web, "/allocations", 403, "Permission denied", ""));
    later(w, 0.1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "allocations: the token is refused (403); whoever is registered counts as running") != NULL);
    CHECK_STR(all_of(w), "0 10.0.0.5:5 10.0.0.5:5 up, 1 10.0.0.6:6 10.0.0.6:6 up");
    world_close(w);
}

/* Registered before the list of allocations tells of it: that is on its way. */
TEST(double_of_nomad_registers_early)
{
    world *w = nomad_with_two();

    REQUIRE(w);
    CHECK(answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "," SERVICE("10.0.0.6", "6", "bb") ","
                 SERVICE("10.0.0.7", "7", "cc") "]", "15"));
    later(w, 0.1);
    CHECK_EQ_I(ud_clients_count(w->l), 2);
    CHECK(answer(&w->web, "/allocations", 200, "[" ALLOC("aa", "a/b.g[0]", "n1", "running", "run") ","
                 ALLOC("bb", "a/b.g[1]", "n2", "running", "run") ","
                 ALLOC("cc", "a/b.g[2]", "n3", "running", "run") "]", "16"));
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up, 2 a/b.g[2] 10.0.0.7:7 up");
    world_close(w);
}

/* The list fails, and one registers that it does not know: after a while that one counts as running all the same. */
TEST(double_of_nomad_loses_the_list)
{
    world *w = nomad_with_two();
    int32_t i;

    REQUIRE(w);
    catch_stderr();
    CHECK(answer(&w->web, "/allocations", 403, "Permission denied", ""));
    CHECK(answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "," SERVICE("10.0.0.6", "6", "bb") ","
                 SERVICE("10.0.0.7", "7", "cc") "]", "15"));
    later(w, 0.1);
    CHECK_EQ_I(ud_clients_count(w->l), 2);
    for (i = 1; i < PATIENCE; i++) {
        CHECK_EQ_I(ud_clients_count(w->l), 2);
        later(w, 8);
        CHECK(answer(&w->web, "/allocations", 403, "Permission denied", ""));
        later(w, 0.1);
    }
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "allocations: the token is refused (403); what was known of them holds") != NULL);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up, 2 10.0.0.7:7 10.0.0.7:7 up");
    world_close(w);
}

/* A replacement has the name of the one it replaces, and another address: the same index. */
TEST(double_of_nomad_moves_a_client)
{
    world *w = nomad_with_two();

    REQUIRE(w);
    CHECK(answer(&w->web, "/allocations", 200, "[" ALLOC("aa", "a/b.g[0]", "n1", "running", "run") ","
                 ALLOC("bb", "a/b.g[1]", "n2", "failed", "stop") ","
                 ALLOC("cc", "a/b.g[1]", "n3", "running", "run") "]", "15"));
    CHECK(answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "," SERVICE("10.0.0.7", "7", "cc") "]",
                 "16"));
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.7:7 up");
    CHECK_STR(w->metrics.name[1], "n3");
    CHECK_STR(w->metrics.address[1], "10.0.0.7");
    later(w, 0.3); /* both at once, as when one is to replace the other: two clients */
    CHECK(answer(&w->web, "/allocations", 200, "[" ALLOC("aa", "a/b.g[0]", "n1", "running", "run") ","
                 ALLOC("dd", "a/b.g[1]", "n2", "running", "run") ","
                 ALLOC("cc", "a/b.g[1]", "n3", "running", "run") "]", "17"));
    CHECK(answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "," SERVICE("10.0.0.8", "8", "dd") ","
                 SERVICE("10.0.0.7", "7", "cc") "]", "18"));
    later(w, 0.1);
    CHECK_EQ_I(ud_clients_count(w->l), 3);
    CHECK(strstr(all_of(w), "1 a/b.g[1] 10.0.0.7:7 up, 2 ") != NULL);
    world_close(w);
}

/* Another job provides the service: its allocations are asked for, and the old question's answer is nobody's. */
TEST(double_of_nomad_changes_the_job)
{
    world *w = nomad_with_two();

    REQUIRE(w);
    CHECK(answer(&w->web, "/v1/service", 200,
                 "[{\"Address\":\"10.0.0.9\",\"Port\":9,\"AllocID\":\"zz\",\"JobID\":\"next\"}]", "30"));
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 drains, 1 a/b.g[1] 10.0.0.6:6 drains, 2 10.0.0.9:9 10.0.0.9:9 up");
    CHECK(answer(&w->web, "/job/a%2Fb/", 200, BOTH_RUN, "31"));
    later(w, 0.1);
    CHECK(asked(&w->web, "/v1/job/next/allocations?index=0&") >= 0);
    CHECK(answer(&w->web, "/job/next/", 200, "[" ALLOC("zz", "next.g[0]", "n9", "running", "run") "]", "32"));
    later(w, 0.1);
    CHECK_STR(w->metrics.name[2], "n9");
    CHECK_EQ_I(info_of(w, 2).state, RLLB_SERVER_UP);
    world_close(w);
}

/* ---- leaving while requests are under way ------------------------------------------------------------------------ */

TEST(who_leaves_drains_and_is_removed_when_nothing_is_in_flight)
{
    world *w = nomad_with_two();
    int32_t i, held = 0, met = 0;

    REQUIRE(w);
    for (i = 0; i < 6; i++) held += rllb_balancer_pick(w->b, 0, w->now_s) == 1;
    CHECK_EQ_I(held, 3);
    CHECK(answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "]", "15"));
    later(w, 0.1);
    for (i = 0; i < 20; i++) met += rllb_balancer_pick(w->b, 0, w->now_s) == 1;
    CHECK_EQ_I(met, 0); /* nothing new */
    later(w, 20);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 drains");
    for (i = 0; i < held - 1; i++) rllb_balancer_done(w->b, 1, w->now_s, w->now_s, RLLB_OUTCOME_OK);
    later(w, 1);
    CHECK_EQ_I(ud_clients_count(w->l), 2);
    rllb_balancer_done(w->b, 1, w->now_s, w->now_s, RLLB_OUTCOME_OK);
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up");
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_NONE);
    later(w, 1);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "16")); /* back: a new one, its index is free */
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up");
    later(w, 0.3);
    CHECK(answer(&w->web, "/v1/service", 200, "[" SERVICE("10.0.0.5", "5", "aa") "]", "17"));
    later(w, 0.1);
    later(w, 0.3);
    CHECK(answer(&w->web, "/v1/service", 200, TWO, "18")); /* back before it was gone: it stays */
    later(w, 0.1);
    CHECK_STR(all_of(w), "0 a/b.g[0] 10.0.0.5:5 up, 1 a/b.g[1] 10.0.0.6:6 up");
    world_close(w);
}

TEST(more_than_there_is_room_for)
{
    ex_text text = { NULL, 0, 0, false };
    world *w = nomad_with_two();
    int32_t i;

    REQUIRE(w);
    ex_text_printf(&text, "[");
    for (i = 0; i < 300; i++) {
        ex_text_printf(&text, "%s{\"Address\":\"10.1.%d.%d\",\"Port\":7,\"JobID\":\"a/b\",\"Namespace\":\"edge\"}",
                       i ? "," : "", (int)(i / 200), (int)(i % 200));
    }
    ex_text_printf(&text, "]");
    catch_stderr();
    CHECK(answer(&w->web, "/v1/service", 200, text.data, "15"));
    later(w, 0.1);
    CHECK_EQ_I(ud_clients_count(w->l), UD_CLIENTS_MOST);
    later(w, 1.1); /* the two of before have gone */
    CHECK(answer(&w->web, "/v1/service", 200, text.data, "16"));
    later(w, 0.1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "no room for more than 256") != NULL);
    CHECK_EQ_I(ud_clients_count(w->l), UD_CLIENTS_MOST);
    ex_text_free(&text);
    world_close(w);
}

/* ---- probes ------------------------------------------------------------------------------------------------------ */

typedef struct echo {
    int fd, port;
    bool deaf;
    int32_t heard;
} echo;

static bool echo_open(echo *e)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;

    memset(e, 0, sizeof *e);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    e->fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (e->fd < 0 || bind(e->fd, (struct sockaddr *)(void *)&at, sizeof at) != 0) return false;
    if (getsockname(e->fd, (struct sockaddr *)(void *)&at, &size) != 0) return false;
    e->port = ntohs(at.sin_port);
    return fcntl(e->fd, F_SETFL, O_NONBLOCK) == 0;
}

/* Answers, from `by` if that is another's socket. */
static void echo_turn(echo *e, int by)
{
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    char bytes[64];
    ssize_t n;

    while ((n = recvfrom(e->fd, bytes, sizeof bytes, 0, (struct sockaddr *)(void *)&from, &size)) >= 0) {
        e->heard += n == 4 && memcmp(bytes, "ping", 4) == 0;
        if (!e->deaf) (void)!sendto(by, "pong", 4, 0, (struct sockaddr *)(void *)&from, size);
        size = sizeof from;
    }
}

static world *probed(const echo *a, const echo *b)
{
    char clients[80];
    world *w;

    snprintf(clients, sizeof clients, "a=127.0.0.1:%d,b=127.0.0.1:%d", a->port, b->port);
    w = world_open(clients);
    if (!w) return NULL;
    snprintf(w->c.probe, sizeof w->c.probe, "ping");
    w->c.probe_s = 1;
    w->c.probe_timeout_s = 0.3;
    w->c.rise = 2;
    w->c.fall = 3;
    CHECK(ud_health_create(&w->c, w->b, &w->board, &w->h));
    return w;
}

static bool has_come(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };

    return poll(&p, 1, 60000) == 1;
}

/* What was sent arrives within this turn, however long a busy machine takes for that: time is the test's. */
static void probes(world *w, echo *a, echo *b, double seconds, int stranger)
{
    echo *of[2] = { a, b };
    double end_s = w->now_s + seconds;
    int32_t j;

    while (w->now_s < end_s - 1e-9) {
        ud_health_turn(w->h, w->l, w->now_s);
        for (j = 0; j < 2; j++) {
            const check *k = &w->h->check[j];
            if (!k->here || !k->awaited || k->sent_s < w->now_s) continue;
            CHECK(has_come(of[j]->fd));
            echo_turn(of[j], j == 0 && stranger >= 0 ? stranger : of[j]->fd);
            if (!of[j]->deaf) CHECK(has_come(w->h->socket));
        }
        later(w, 0.1);
    }
}

TEST(probes_take_out_and_put_in)
{
    echo a, b, c;
    world *w;

    REQUIRE(echo_open(&a) && echo_open(&b) && echo_open(&c));
    w = probed(&a, &b);
    REQUIRE(w && w->h);
    catch_stderr();
    probes(w, &a, &b, 10, -1);
    CHECK_EQ_I(release_stderr(), 0);
    CHECK(a.heard >= 9 && a.heard <= 11 && b.heard >= 9 && b.heard <= 11); /* one a second */
    CHECK(info_of(w, 0).usable && info_of(w, 1).usable);
    a.deaf = true;
    probes(w, &a, &b, 2, -1);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_UP); /* not yet */
    catch_stderr();
    probes(w, &a, &b, 1.5, -1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "a is down: no answer to 3 probes") != NULL);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DOWN);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_UP);
    a.deaf = false;
    probes(w, &a, &b, 5, c.fd); /* answers, but from another's address */
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DOWN);
    catch_stderr();
    probes(w, &a, &b, 3, -1);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "a is up") != NULL);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_UP);
    world_close(w);
    close(a.fd);
    close(b.fd);
    close(c.fd);
}

/* Nobody answers: all are in again, until one does. */
TEST(when_all_are_out_all_are_in)
{
    echo a, b;
    world *w;

    REQUIRE(echo_open(&a) && echo_open(&b));
    w = probed(&a, &b);
    REQUIRE(w && w->h);
    probes(w, &a, &b, 2, -1);
    catch_stderr();
    a.deaf = true;
    probes(w, &a, &b, 4, -1);
    b.deaf = true;
    probes(w, &a, &b, 6, -1);
    CHECK_EQ_I(release_stderr(), 2);
    CHECK(strstr(said, "no client answers: all of them are sent to") != NULL);
    CHECK(info_of(w, 0).usable && info_of(w, 1).usable);
    CHECK(rllb_balancer_pick(w->b, 0, w->now_s) >= 0);
    catch_stderr();
    b.deaf = false;
    probes(w, &a, &b, 4, -1);
    CHECK_EQ_I(release_stderr(), 2); /* a client answers; and who does not is down again */
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DOWN);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_UP);
    world_close(w);
    close(a.fd);
    close(b.fd);
}

/* A client that drains stays so, whatever the probes say. */
TEST(probes_do_not_call_back_who_leaves)
{
    echo a, b;
    world *w;

    REQUIRE(echo_open(&a) && echo_open(&b));
    w = probed(&a, &b);
    REQUIRE(w && w->h);
    probes(w, &a, &b, 2, -1);
    leave(w->l, 0, w->now_s);
    CHECK_EQ_I(rllb_balancer_started(w->b, 0, w->now_s), RLLB_OK);
    probes(w, &a, &b, 3, -1);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DRAINING);
    a.deaf = true;
    probes(w, &a, &b, 6, -1);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DRAINING);
    rllb_balancer_done(w->b, 0, w->now_s, w->now_s, RLLB_OUTCOME_CANCELLED);
    later(w, 2);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_NONE);
    probes(w, &a, &b, 2, -1);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_UP);
    world_close(w);
    close(a.fd);
    close(b.fd);
}

/* ---- silence ----------------------------------------------------------------------------------------------------- */

static world *silent_world(double silence_s)
{
    world *w = world_open("a=10.0.0.5:5,b=10.0.0.6:5,c=10.0.0.7:5");

    if (!w) return NULL;
    w->c.replies = true;
    w->c.silence_s = silence_s;
    CHECK(ud_health_create(&w->c, w->b, &w->board, &w->h));
    return w;
}

/* What the data thread notes. */
static void sends(world *w, int32_t j, uint64_t datagrams)
{
    ud_seat *s = &w->board.seat[j];

    s->sent += datagrams;
    if (!s->unanswered_us) s->unanswered_us = (uint64_t)(1e6 * w->now_s);
}

static void answers(world *w, int32_t j)
{
    w->board.seat[j].answered_us = (uint64_t)(1e6 * w->now_s);
    w->board.seat[j].unanswered_us = 0;
}

/* Each tenth of a second: to all of them, and those of the mask answer. Tries are counted, and answered if they can. */
static int32_t traffic(world *w, double seconds, unsigned mask)
{
    double end_s = w->now_s + seconds;
    int32_t j, tries = 0;

    while (w->now_s < end_s - 1e-9) {
        for (j = 0; j < 3; j++) {
            if (!info_of(w, j).usable) continue;
            sends(w, j, 2);
            if (mask >> j & 1) answers(w, j);
        }
        j = ud_try_take(&w->board);
        if (j >= 0) {
            sends(w, j, 1);
            if (mask >> j & 1) answers(w, j);
            tries++;
        }
        ud_health_turn(w->h, w->l, w->now_s);
        later(w, 0.1);
    }
    return tries;
}

TEST(silence_takes_out_and_a_try_puts_in)
{
    world *w = silent_world(2);
    int32_t tries;

    REQUIRE(w && w->h);
    CHECK_EQ_I(traffic(w, 5, 7), 0);
    CHECK_EQ_I(traffic(w, 1.5, 5), 0);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_UP);
    catch_stderr();
    CHECK_EQ_I(traffic(w, 1, 5), 0);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK(strstr(said, "b is down: no answer to what was sent for 2.0 s") != NULL);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_DOWN);
    tries = traffic(w, 30, 5); /* after 1, 2, 4, 8, 16 seconds */
    CHECK(tries >= 4 && tries <= 6);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_DOWN);
    catch_stderr();
    tries = traffic(w, 20, 7);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK_EQ_I(tries, 1);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_UP);
    CHECK_EQ_I(traffic(w, 5, 7), 0);
    world_close(w);
}

/* A lost datagram or two, and nothing sent since, is no silence; nor is it for a client that has just come. */
TEST(what_is_no_silence)
{
    struct sockaddr_in6 at;
    world *w = silent_world(2);
    int32_t i;

    REQUIRE(w && w->h);
    ud_health_turn(w->h, w->l, w->now_s);
    sends(w, 0, 1);
    for (i = 0; i < 100; i++) {
        ud_health_turn(w->h, w->l, w->now_s);
        later(w, 0.1);
    }
    sends(w, 0, 1);
    ud_health_turn(w->h, w->l, w->now_s);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_UP);
    w->board.seat[0].sent += 50;
    REQUIRE(address_of("10.0.0.9", 5, &at)); /* it has moved: what was sent before was another's */
    ud_seat_put(&w->board, 0, &at);
    ud_health_turn(w->h, w->l, w->now_s);
    later(w, 1.5);
    w->board.seat[0].sent += 50;
    ud_health_turn(w->h, w->l, w->now_s);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_UP);
    later(w, 1);
    catch_stderr();
    ud_health_turn(w->h, w->l, w->now_s);
    CHECK_EQ_I(release_stderr(), 1);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DOWN);
    world_close(w);
}

/* A service that never answers: all of them are in. */
TEST(silence_of_all_changes_nothing)
{
    world *w = silent_world(2);
    int32_t j;

    REQUIRE(w && w->h);
    catch_stderr();
    traffic(w, 20, 0);
    release_stderr();
    CHECK(strstr(said, "no client answers: all of them are sent to") != NULL);
    for (j = 0; j < 3; j++) CHECK(info_of(w, j).usable);
    catch_stderr();
    traffic(w, 1, 2); /* one answers */
    release_stderr();
    CHECK(strstr(said, "a client answers") != NULL);
    CHECK_EQ_I(info_of(w, 0).state, RLLB_SERVER_DOWN);
    CHECK_EQ_I(info_of(w, 1).state, RLLB_SERVER_UP);
    CHECK_EQ_I(info_of(w, 2).state, RLLB_SERVER_DOWN);
    catch_stderr();
    traffic(w, 8, 7); /* and by tries the others */
    CHECK_EQ_I(release_stderr(), 2);
    for (j = 0; j < 3; j++) CHECK_EQ_I(info_of(w, j).state, RLLB_SERVER_UP);
    world_close(w);
}

/* With silence off, or replies that nobody passes back, nothing happens. */
TEST(silence_is_off)
{
    world *w = silent_world(0);

    REQUIRE(w && w->h);
    traffic(w, 10, 0);
    CHECK(info_of(w, 0).usable && info_of(w, 1).usable && info_of(w, 2).usable);
    world_close(w);
}
