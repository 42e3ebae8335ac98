/* Fuzz target: what tells the UDP allocator who its clients are: the list, and two answers of Nomad's. Whatever the
   bytes, nothing outside them is read, and what is taken can be used: names and addresses that end, ports and weights
   in their ranges, no address twice. The first byte says which of the three it is.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Iexamples/common -Itests/fuzz tests/fuzz/fuzz_udp_clients.c build/fuzz/lib.a -lcjson -lm -pthread */

#include "../../examples/udp/clients.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { MOST = 24 };

/* Nobody is asked, nothing is measured. */
void ud_metrics_name(ud_metrics *m, int32_t client, const char *name, const char *address)
{
    (void)m;
    (void)client;
    (void)name;
    (void)address;
}

void ud_metrics_forget(ud_metrics *m, int32_t client)
{
    (void)m;
    (void)client;
}

bool ud_web_ask(ud_web *w, const char *url, const char *const *headers, const char *body, const char *want,
                double timeout_s, ud_web_fn fn, void *user)
{
    (void)w;
    (void)url;
    (void)headers;
    (void)body;
    (void)want;
    (void)timeout_s;
    (void)fn;
    (void)user;
    return false;
}

static bool ends(const char *text, size_t room)
{
    return memchr(text, 0, room) != NULL;
}

static void check_place(const ud_place *p)
{
    size_t i;

    DEMAND(ends(p->name, sizeof p->name) && p->name[0] && ends(p->host, sizeof p->host) && p->host[0]);
    DEMAND(p->port >= 1 && p->port <= 65535 && p->weight >= 1e-6 && p->weight <= 1e6);
    DEMAND(ends(p->alloc, sizeof p->alloc) && ends(p->job, sizeof p->job) && ends(p->space, sizeof p->space));
    DEMAND(ends(p->node, sizeof p->node));
    for (i = 0; p->name[i]; i++) DEMAND(p->name[i] > ' ' && p->name[i] <= '~' && p->name[i] != '"');
}

static void check_places(const ud_place *p, int32_t count, const char *why)
{
    int32_t i, k;

    DEMAND(count >= -1 && count <= MOST && ends(why, 160));
    DEMAND(count >= 0 || why[0]);
    for (i = 0; i < count; i++) {
        check_place(&p[i]);
        for (k = 0; k < i; k++) DEMAND(p[k].port != p[i].port || strcmp(p[k].host, p[i].host) != 0);
    }
}

static void check_allocations(const ud_alloc *a, int32_t count, const char *why)
{
    int32_t i;

    DEMAND(count >= -1 && count <= MOST && ends(why, 160));
    for (i = 0; i < count; i++) {
        DEMAND(ends(a[i].id, sizeof a[i].id) && a[i].id[0] && ends(a[i].name, sizeof a[i].name));
        DEMAND(ends(a[i].node, sizeof a[i].node));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ud_place place[MOST];
    static ud_alloc alloc[MOST];
    const char *text = (const char *)data;
    char why[160], *list;

    if (size == 0) return 0;
    memset(place, 0xff, sizeof place);
    memset(alloc, 1, sizeof alloc);
    switch (data[0] % 3) {
    case 0:
        list = malloc(size);
        if (!list) abort();
        memcpy(list, text + 1, size - 1);
        list[size - 1] = '\0';
        check_places(place, ud_parse_clients(list, place, MOST, why), why);
        free(list);
        break;
    case 1: check_places(place, ud_parse_services(text + 1, size - 1, place, MOST, why), why); break;
    default: check_allocations(alloc, ud_parse_allocations(text + 1, size - 1, alloc, MOST, why), why); break;
    }
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char list[] = "010.0.0.5:5005,b=10.0.0.6:5005*2,c=[fd00::7]:5005,d=host.example:7*0.5";
    static const char services[] =
        "1[{\"Address\":\"10.0.0.5\",\"AllocID\":\"177160af-26f6-619f-9c9f-5e46d1104395\",\"CreateIndex\":14,"
        "\"JobID\":\"spread\",\"Namespace\":\"default\",\"Port\":29702,\"ServiceName\":\"udp\","
        "\"Tags\":[\"weight=2\",\"db\"]},{\"Address\":\"fd00::7\",\"Port\":5005,\"Tags\":null}]";
    static const char allocations[] =
        "2[{\"ID\":\"177160af-26f6-619f-9c9f-5e46d1104395\",\"Name\":\"spread.g[0]\",\"NodeName\":\"client-1\","
        "\"DesiredStatus\":\"run\",\"ClientStatus\":\"running\",\"TaskStates\":{\"t\":{\"State\":\"running\"}}}]";
    static const char deep[] = "1[[[[[[[[{\"Address\":\"\\u0000\\ud83d\\ude00\",\"Port\":1e3}]]]]]]]]";
    static const char *const texts[] = { list, services, allocations, deep };
    size_t n;

    if (i < 0 || i >= (int)(sizeof texts / sizeof *texts)) return 0;
    n = strlen(texts[i]);
    if (n > room) n = room;
    memcpy(buffer, texts[i], n);
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
