/* clients.c - who the clients are: a list, DNS, or Nomad

       10.0.0.5:5005,b=10.0.0.6:5005*2,c=[fd00::7]:5005     [name=]host:port[*weight], as they stand
       dns:clients.example:5005                             every address of that name, asked every five seconds
       nomad:http://10.0.0.4:4646/udp?namespace=edge        who is registered as "udp" and runs (also region=...)

   A client is an address and has a name, which it keeps. Who is found again under his address stays who he is; who is
   found under his name with another address, while nobody is at the old one any more, has moved: same index, same row
   of a model, same place in Maglev's table. Who is found no longer drains: he is given nothing new, and is removed when
   nothing is in flight there, a second later at the earliest. Somebody who comes gets the lowest index that is free.

   Nothing found, no answer, or one that is none changes nothing: it is said once, and once when it is over.

   DNS is asked in a thread of its own, since getaddrinfo waits. A name that has addresses of both kinds is taken for
   IPv4: its hosts would be there twice.

   Nomad is asked by blocking queries: GET /v1/service/NAME?index=N&wait=60s answers when something is newer than index
   N of the answer before, or after a minute; an index that ran backwards begins anew at 0. GET /v1/job/JOB/allocations,
   asked the same way, says which of the allocations that are registered run and are meant to; it gives them their
   names ("job.group[0]", which a replacement keeps) and their node, under whose name an agent's metrics come. Without
   the right to read that, whoever is registered counts as running. A tag "weight=2" sets a weight. After a failure it
   is asked again in half a second, then twice that and so on up to half a minute. */

#include "udp.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { ALLOCS_MOST = 1024, DNS_EVERY_S = 5, WAIT_S = 60, PATIENCE = 4 };
#define REST_S 1.0   /* of one that left, before its index is free */
#define PAUSE_S 0.2  /* between an answer of Nomad's and the next question */
#define SPARSE_S 1.0 /* where an answer has no index to wait for */
#define WEIGHT_MOST 1e6

typedef struct seat {
    char name[UD_NAME_MOST];
    struct sockaddr_in6 at;
    double weight, left_s;
    bool here, leaving, found; /* found: in this round */
} seat;

/* One that was found. */
typedef struct guest {
    ud_place place;
    struct sockaddr_in6 at;
    int32_t seat; /* -1: none yet */
} guest;

typedef enum kind { BY_LIST, BY_DNS, BY_NOMAD } kind;

/* What the thread that asks DNS shares with control; the last of both frees it. */
typedef struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int32_t holders;
    bool stop;
    char name[UD_TEXT_MOST], port[8];
    uint64_t answers;
    int32_t count;
    struct sockaddr_in6 at[UD_CLIENTS_MOST];
    char why[160];
} resolver;

/* One question that Nomad is asked again and again. */
typedef struct watch {
    struct ud_clients *owner;
    const char *what;
    bool asked, answered, unwanted, good, failing; /* unwanted: what is to come; good: an answer was right */
    uint64_t index;
    double due_s;
    int32_t failures;
    char why[160];     /* of the latest answer; empty: it was right */
} watch;

typedef struct nomad {
    char base[UD_TEXT_MOST], service[128], space[128], region[128], job[128], job_space[64];
    char token[UD_TEXT_MOST + 24];
    watch services, allocs;
    ud_place place[UD_CLIENTS_MOST];
    ud_alloc *alloc;
    int32_t places, allocations;
    bool news; /* since the last round */
} nomad;

struct ud_clients {
    kind kind;
    rllb_balancer *keeper;
    ud_board *board;
    ud_metrics *metrics;
    ud_web *web;
    seat seat[UD_CLIENTS_MOST];
    int32_t count;
    guest guest[UD_CLIENTS_MOST]; /* of this round */
    int32_t guests;
    resolver *dns;
    uint64_t heard;
    nomad *nomad;
    bool lacks, full; /* said: nobody is found; there are too many */
};

/* ---- addresses and names ----------------------------------------------------------------------------------------- */

/* IPv4 is mapped. False: no address, or one that is nobody's or everybody's. */
static bool address_of(const char *host, int32_t port, struct sockaddr_in6 *out)
{
    static const unsigned char none[16];
    unsigned char *to = out->sin6_addr.s6_addr;
    bool four;

    memset(out, 0, sizeof *out);
    out->sin6_family = AF_INET6;
    out->sin6_port = htons((uint16_t)port);
    four = inet_pton(AF_INET, host, to + 12) == 1;
    if (four) to[10] = to[11] = 0xff;
    else if (inet_pton(AF_INET6, host, to) != 1) return false;
    if (to[0] == 0xff || memcmp(to, none, 16) == 0) return false;
    if (memcmp(to, none, 10) != 0 || to[10] != 0xff || to[11] != 0xff) return true;
    return to[12] != 0 && to[12] < 224;
}

static void address_text(const struct sockaddr_in6 *at, char out[INET6_ADDRSTRLEN])
{
    static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    bool four = memcmp(at->sin6_addr.s6_addr, mapped, 12) == 0;

    out[0] = '\0';
    inet_ntop(four ? AF_INET : AF_INET6, at->sin6_addr.s6_addr + (four ? 12 : 0), out, INET6_ADDRSTRLEN);
}

static bool same_address(const struct sockaddr_in6 *a, const struct sockaddr_in6 *b)
{
    return a->sin6_port == b->sin6_port && memcmp(&a->sin6_addr, &b->sin6_addr, sizeof a->sin6_addr) == 0;
}

static bool copy(char *out, size_t room, const char *text)
{
    size_t n = strlen(text);

    if (n >= room) return false;
    memcpy(out, text, n + 1);
    return true;
}

/* Of a name that is too long the end: it tells more than the beginning. It goes into metrics and log lines. */
static void name_take(char out[UD_NAME_MOST], const char *text)
{
    size_t n = strlen(text), i;

    if (n >= UD_NAME_MOST) text += n - (UD_NAME_MOST - 1);
    for (i = 0; text[i]; i++) {
        bool plain = text[i] > ' ' && text[i] <= '~' && text[i] != '"' && text[i] != '\\';
        out[i] = plain ? text[i] : '?';
    }
    out[i] = '\0';
}

static void name_after_address(ud_place *p)
{
    char text[80];

    snprintf(text, sizeof text, strchr(p->host, ':') ? "[%s]:%d" : "%s:%d", p->host, (int)p->port);
    name_take(p->name, text);
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static bool plain(const char *text, const char *others)
{
    if (!*text) return false;
    for (; *text; text++) {
        bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
        if (!letter && !(*text >= '0' && *text <= '9') && !strchr(others, *text)) return false;
    }
    return true;
}

static bool wrong(char why[160], const char *entry, const char *words)
{
    snprintf(why, 160, "'%.60s': %s", entry, words);
    return false;
}

/* "host:port" or "[host]:port"; cuts the text up. */
static bool host_port(char *text, char **host, char **port)
{
    char *colon = strrchr(text, ':');

    if (!colon) return false;
    *host = text;
    *port = colon + 1;
    *colon = '\0';
    if (text[0] != '[') return strchr(text, ':') == NULL;
    if (colon == text || colon[-1] != ']') return false;
    colon[-1] = '\0';
    ++*host;
    return true;
}

static bool parse_one(const char *entry, ud_place *out, char why[160])
{
    char text[200], *at = text, *name = NULL, *weight, *host, *port;
    int64_t number;

    memset(out, 0, sizeof *out);
    out->weight = 1;
    if (!copy(text, sizeof text, entry)) return wrong(why, entry, "too long");
    if (strchr(at, '=')) {
        name = at;
        at = strchr(at, '=');
        *at++ = '\0';
        if (!plain(name, "._-")) return wrong(why, entry, "a name is letters, digits, '.', '_' and '-'");
        if (!copy(out->name, sizeof out->name, name)) return wrong(why, entry, "a name has at most 31 characters");
    }
    weight = strchr(at, '*');
    if (weight) {
        *weight++ = '\0';
        if (!ex_parse_double(weight, &out->weight) || !(out->weight >= 1e-6 && out->weight <= WEIGHT_MOST)) {
            return wrong(why, entry, "a weight is a number above 0, up to a million");
        }
    }
    if (!host_port(at, &host, &port)) return wrong(why, entry, "should be [name=]host:port[*weight]");
    if (!plain(host, "._-:") || !copy(out->host, sizeof out->host, host)) return wrong(why, entry, "is no host");
    if (!ex_parse_int64(port, &number) || number < 1 || number > 65535) {
        return wrong(why, entry, "a port is 1 to 65535");
    }
    out->port = (int32_t)number;
    if (!name) name_after_address(out);
    copy(out->node, sizeof out->node, name ? out->name : out->host);
    return true;
}

int32_t ud_parse_clients(const char *text, ud_place *out, int32_t most, char why[160])
{
    int32_t count = 0, i;
    char entry[256];
    size_t n;

    why[0] = '\0';
    for (;; text += n + 1) {
        n = strcspn(text, ",");
        if (count == most) {
            snprintf(why, 160, "more than %d clients", (int)most);
            return -1;
        }
        snprintf(entry, sizeof entry, "%.*s", n < 255 ? (int)n : 255, text);
        if (!parse_one(entry, &out[count], why)) return -1;
        for (i = 0; i < count; i++) {
            bool twice = out[i].port == out[count].port && strcmp(out[i].host, out[count].host) == 0;
            if (!twice && strcmp(out[i].name, out[count].name) != 0) continue;
            wrong(why, entry, twice ? "is there twice" : "its name is there twice");
            return -1;
        }
        count++;
        if (!text[n]) return count;
    }
}

/* ---- Nomad's answers --------------------------------------------------------------------------------------------- */

/* The member as text; empty where it is none, or too long. */
static bool member_text(const cJSON *object, const char *key, char *out, size_t room)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    out[0] = '\0';
    if (cJSON_IsString(value) && value->valuestring && copy(out, room, value->valuestring)) return out[0] != '\0';
    return false;
}

static double weight_of(const cJSON *tags)
{
    const cJSON *tag;
    double weight;

    cJSON_ArrayForEach(tag, tags)
    {
        if (!cJSON_IsString(tag) || !tag->valuestring || strncmp(tag->valuestring, "weight=", 7) != 0) continue;
        if (ex_parse_double(tag->valuestring + 7, &weight) && weight >= 1e-6 && weight <= WEIGHT_MOST) return weight;
    }
    return 1;
}

static bool place_of(const cJSON *item, ud_place *out)
{
    const cJSON *port = cJSON_GetObjectItemCaseSensitive(item, "Port");
    struct sockaddr_in6 at;

    memset(out, 0, sizeof *out);
    if (!cJSON_IsObject(item) || !member_text(item, "Address", out->host, sizeof out->host)) return false;
    if (!cJSON_IsNumber(port) || !(port->valuedouble >= 1 && port->valuedouble <= 65535)) return false;
    out->port = (int32_t)port->valuedouble;
    if (!address_of(out->host, out->port, &at)) return false;
    member_text(item, "AllocID", out->alloc, sizeof out->alloc);
    member_text(item, "JobID", out->job, sizeof out->job);
    member_text(item, "Namespace", out->space, sizeof out->space);
    out->weight = weight_of(cJSON_GetObjectItemCaseSensitive(item, "Tags"));
    name_after_address(out);
    return true;
}

static cJSON *array_of(const char *text, size_t size, char why[160])
{
    cJSON *all = cJSON_ParseWithLength(text, size);

    why[0] = '\0';
    if (cJSON_IsArray(all)) return all;
    snprintf(why, 160, all ? "the answer is no JSON array" : "the answer is no JSON");
    cJSON_Delete(all);
    return NULL;
}

static void left_out(char why[160], int32_t count, const char *what)
{
    if (count) snprintf(why, 160, "%d %s cannot be used", (int)count, what);
}

int32_t ud_parse_services(const char *text, size_t size, ud_place *out, int32_t most, char why[160])
{
    cJSON *all = array_of(text, size, why);
    const cJSON *item;
    int32_t count = 0, unfit = 0, i;
    ud_place p;

    if (!all) return -1;
    cJSON_ArrayForEach(item, all)
    {
        if (count == most || !place_of(item, &p)) {
            unfit++;
            continue;
        }
        for (i = 0; i < count && !(out[i].port == p.port && strcmp(out[i].host, p.host) == 0); i++) {}
        if (i == count) out[count++] = p; /* registered twice by the same task: one client */
    }
    cJSON_Delete(all);
    left_out(why, unfit, "registrations");
    return count;
}

int32_t ud_parse_allocations(const char *text, size_t size, ud_alloc *out, int32_t most, char why[160])
{
    cJSON *all = array_of(text, size, why);
    const cJSON *item;
    int32_t count = 0, unfit = 0;
    char status[32], desired[32];

    if (!all) return -1;
    cJSON_ArrayForEach(item, all)
    {
        ud_alloc *a = &out[count];
        if (count == most || !cJSON_IsObject(item) || !member_text(item, "ID", a->id, sizeof a->id)) {
            unfit++;
            continue;
        }
        member_text(item, "Name", a->name, sizeof a->name);
        member_text(item, "NodeName", a->node, sizeof a->node);
        member_text(item, "ClientStatus", status, sizeof status);
        member_text(item, "DesiredStatus", desired, sizeof desired);
        a->running = strcmp(status, "running") == 0 && strcmp(desired, "run") == 0;
        count++;
    }
    cJSON_Delete(all);
    left_out(why, unfit, "allocations");
    return count;
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

static void name_to_metrics(const ud_clients *l, int32_t j, const guest *g)
{
    char address[INET6_ADDRSTRLEN];

    address_text(&g->at, address);
    if (l->metrics) ud_metrics_name(l->metrics, j, g->place.node[0] ? g->place.node : g->place.name, address);
}

static void join(ud_clients *l, guest *g, double now_s)
{
    rllb_server_desc d = { g->place.name, (float)g->place.weight };
    int32_t j;
    seat *s;

    if (rllb_balancer_add(l->keeper, &d, now_s, &j) != RLLB_OK) {
        if (!l->full) ex_warn("clients: no room for more than %d; %s is left out", UD_CLIENTS_MOST, g->place.name);
        l->full = true;
        return;
    }
    s = &l->seat[j];
    memset(s, 0, sizeof *s);
    memcpy(s->name, g->place.name, sizeof s->name);
    s->at = g->at;
    s->weight = g->place.weight;
    s->here = s->found = true;
    g->seat = j;
    l->count++;
    ud_seat_put(l->board, j, &g->at);
    name_to_metrics(l, j, g);
}

/* Found again, at that address or where it has moved to. */
static void stay(ud_clients *l, int32_t j, guest *g, double now_s)
{
    seat *s = &l->seat[j];

    g->seat = j;
    s->found = true;
    if (!same_address(&s->at, &g->at)) {
        s->at = g->at;
        ud_seat_put(l->board, j, &g->at);
    }
    name_to_metrics(l, j, g);
    if (s->leaving) rllb_balancer_set_state(l->keeper, j, RLLB_SERVER_UP, now_s);
    s->leaving = false;
    if (s->weight < g->place.weight || s->weight > g->place.weight) {
        s->weight = g->place.weight;
        rllb_balancer_set_weight(l->keeper, j, (float)s->weight, now_s);
    }
}

static void leave(ud_clients *l, int32_t j, double now_s)
{
    seat *s = &l->seat[j];

    if (s->leaving) return;
    s->leaving = true;
    s->left_s = now_s;
    rllb_balancer_set_state(l->keeper, j, RLLB_SERVER_DRAINING, now_s);
}

/* Those that left, when nothing is in flight there. */
static void clear_away(ud_clients *l, double now_s)
{
    rllb_server_info info;
    int32_t j;

    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        seat *s = &l->seat[j];
        if (!s->here || !s->leaving || now_s - s->left_s < REST_S) continue;
        if (rllb_balancer_server(l->keeper, j, &info) != RLLB_OK || info.in_flight > 0) continue;
        rllb_balancer_remove(l->keeper, j, now_s);
        ud_seat_put(l->board, j, NULL);
        if (l->metrics) ud_metrics_forget(l->metrics, j);
        memset(s, 0, sizeof *s);
        l->count--;
        l->full = false;
    }
}

static int32_t seat_at(const ud_clients *l, const struct sockaddr_in6 *at)
{
    int32_t j;

    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        if (l->seat[j].here && same_address(&l->seat[j].at, at)) return j;
    }
    return -1;
}

/* Whose address was not found. */
static int32_t seat_named(const ud_clients *l, const char *name)
{
    int32_t j;

    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        if (l->seat[j].here && !l->seat[j].found && strcmp(l->seat[j].name, name) == 0) return j;
    }
    return -1;
}

/* From now on those in l->guest are the clients. */
static void apply(ud_clients *l, double now_s)
{
    int32_t i, j;

    for (j = 0; j < UD_CLIENTS_MOST; j++) l->seat[j].found = false;
    for (i = 0; i < l->guests; i++) {
        guest *g = &l->guest[i];
        g->seat = seat_at(l, &g->at);
        if (g->seat >= 0) stay(l, g->seat, g, now_s);
    }
    for (i = 0; i < l->guests; i++) {
        guest *g = &l->guest[i];
        j = g->seat < 0 ? seat_named(l, g->place.name) : -1;
        if (j >= 0) stay(l, j, g, now_s);
    }
    for (i = 0; i < l->guests; i++) {
        if (l->guest[i].seat < 0) join(l, &l->guest[i], now_s);
    }
    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        if (l->seat[j].here && !l->seat[j].found) leave(l, j, now_s);
    }
}

static bool guest_take(ud_clients *l, const ud_place *p)
{
    guest *g = &l->guest[l->guests];
    int32_t i;

    if (l->guests == UD_CLIENTS_MOST || !address_of(p->host, p->port, &g->at)) return false;
    for (i = 0; i < l->guests; i++) {
        if (same_address(&l->guest[i].at, &g->at)) return true; /* one client by two names */
    }
    g->place = *p;
    g->seat = -1;
    l->guests++;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const guest *)a)->place.name, ((const guest *)b)->place.name);
}

static int by_address(const void *a, const void *b)
{
    return memcmp(&((const guest *)a)->at.sin6_addr, &((const guest *)b)->at.sin6_addr, sizeof(struct in6_addr));
}

/* Somebody was found: true. Nobody: said once. */
static bool some(ud_clients *l, const char *where)
{
    if (l->guests > 0) {
        if (l->lacks) ex_warn("%s: clients are found again", where);
        l->lacks = false;
        return true;
    }
    if (!l->lacks) ex_warn("%s: nobody is found there; the %d clients of before stay", where, (int)l->count);
    l->lacks = true;
    return false;
}

/* ---- DNS --------------------------------------------------------------------------------------------------------- */

static void resolver_leave(resolver *r) /* holds the lock */
{
    bool last = --r->holders == 0;

    pthread_mutex_unlock(&r->lock);
    if (!last) return;
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static int ask_dns(const char *name, const char *port, int family, struct addrinfo **out)
{
    struct addrinfo hints;

    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_socktype = SOCK_DGRAM;
    return getaddrinfo(name, port, &hints, out);
}

static void address_take(const struct addrinfo *a, struct sockaddr_in6 *out)
{
    struct sockaddr_in four;

    memset(out, 0, sizeof *out);
    if (a->ai_family == AF_INET6) {
        memcpy(out, a->ai_addr, sizeof *out);
        return;
    }
    memcpy(&four, a->ai_addr, sizeof four);
    out->sin6_family = AF_INET6;
    out->sin6_port = four.sin_port;
    out->sin6_addr.s6_addr[10] = out->sin6_addr.s6_addr[11] = 0xff;
    memcpy(out->sin6_addr.s6_addr + 12, &four.sin_addr, 4);
}

/* How many addresses; 0: none, and why. */
static int32_t look_up(const char *name, const char *port, struct sockaddr_in6 *out, int32_t most, char why[160])
{
    struct addrinfo *all = NULL, *a;
    int32_t count = 0;
    int error = ask_dns(name, port, AF_INET, &all);

    why[0] = '\0';
    if (error) error = ask_dns(name, port, AF_INET6, &all);
    if (error) {
        snprintf(why, 160, "%s", gai_strerror(error));
        return 0;
    }
    for (a = all; a && count < most; a = a->ai_next) {
        if (a->ai_family == AF_INET || a->ai_family == AF_INET6) address_take(a, &out[count++]);
    }
    freeaddrinfo(all);
    return count;
}

static void *resolve(void *user)
{
    resolver *r = user;
    struct sockaddr_in6 at[UD_CLIENTS_MOST];
    struct timespec until;
    char why[160];
    int32_t count;

    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        pthread_mutex_unlock(&r->lock);
        count = look_up(r->name, r->port, at, UD_CLIENTS_MOST, why);
        pthread_mutex_lock(&r->lock);
        memcpy(r->at, at, (size_t)count * sizeof *at);
        memcpy(r->why, why, sizeof why);
        r->count = count;
        r->answers++;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += DNS_EVERY_S;
        while (!r->stop && pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0) {}
    }
    resolver_leave(r);
    return NULL;
}

/* A thread that no signal reaches: those are for control. */
static bool thread_start(resolver *r)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    bool ok;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ok = pthread_attr_init(&attributes) == 0;
    if (ok) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        ok = pthread_create(&thread, &attributes, resolve, r) == 0;
        pthread_attr_destroy(&attributes);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

static bool dns_open(ud_clients *l, const char *text)
{
    char entry[UD_TEXT_MOST], *host, *port;
    resolver *r = calloc(1, sizeof *r);
    pthread_condattr_t clock;
    int64_t number;

    if (!r) return ex_fail("not enough memory for clients") == EX_OK;
    if (!copy(entry, sizeof entry, text) || !host_port(entry, &host, &port) || !plain(host, "._-") ||
        !ex_parse_int64(port, &number) || number < 1 || number > 65535) {
        free(r);
        ex_usage("clients", "'dns:%.60s' should be dns:NAME:PORT", text);
        return false;
    }
    copy(r->name, sizeof r->name, host);
    snprintf(r->port, sizeof r->port, "%d", (int)number);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &clock);
    pthread_condattr_destroy(&clock);
    r->holders = 2;
    l->dns = r;
    if (thread_start(r)) return true;
    r->holders = 1;
    return ex_fail("clients: no thread for DNS") == EX_OK;
}

static void dns_close(ud_clients *l)
{
    if (!l->dns) return;
    pthread_mutex_lock(&l->dns->lock);
    l->dns->stop = true;
    pthread_cond_signal(&l->dns->wake);
    resolver_leave(l->dns);
    l->dns = NULL;
}

static void dns_turn(ud_clients *l, double now_s)
{
    char where[160], why[160];
    resolver *r = l->dns;
    ud_place p;
    bool heard;
    int32_t i;

    memset(&p, 0, sizeof p);
    p.weight = 1;
    l->guests = 0;
    pthread_mutex_lock(&r->lock);
    heard = r->answers != l->heard;
    l->heard = r->answers;
    memcpy(why, r->why, sizeof why);
    for (i = 0; heard && i < r->count; i++) {
        address_text(&r->at[i], p.host);
        p.port = ntohs(r->at[i].sin6_port);
        name_take(p.name, p.host);
        guest_take(l, &p);
    }
    pthread_mutex_unlock(&r->lock);
    if (!heard) return;
    snprintf(where, sizeof where, "dns:%.60s%s%.60s", r->name, why[0] ? ": " : "", why);
    if (!some(l, where)) return;
    qsort(l->guest, (size_t)l->guests, sizeof *l->guest, by_address);
    apply(l, now_s);
}

/* ---- Nomad ------------------------------------------------------------------------------------------------------- */

static const ud_alloc *alloc_of(const nomad *n, const char *id)
{
    int32_t i;

    for (i = 0; id[0] && i < n->allocations; i++) {
        if (strcmp(n->alloc[i].id, id) == 0) return &n->alloc[i];
    }
    return NULL;
}

/* May an allocation that the list does not know of count as running? Not one of this job: it is so new that the list is
   on its way, unless that failed too often. */
static bool unknown_runs(const nomad *n, const ud_place *p)
{
    bool listed = n->allocs.good && n->allocs.failures < PATIENCE && n->allocations < ALLOCS_MOST;

    return !listed || !p->alloc[0] || strcmp(p->job, n->job) != 0 || strcmp(p->space, n->job_space) != 0;
}

/* Who is registered and runs. */
static void nomad_guests(ud_clients *l)
{
    const nomad *n = l->nomad;
    int32_t i, k;

    l->guests = 0;
    for (i = 0; i < n->places; i++) {
        const ud_alloc *a = alloc_of(n, n->place[i].alloc);
        ud_place p = n->place[i];
        if (a ? !a->running : !unknown_runs(n, &p)) continue;
        if (a) memcpy(p.node, a->node, sizeof p.node);
        if (a && a->name[0]) name_take(p.name, a->name);
        for (k = 0; k < l->guests && strcmp(l->guest[k].place.name, p.name) != 0; k++) {}
        if (k < l->guests) name_after_address(&p); /* two at once, as when one replaces the other */
        guest_take(l, &p);
    }
}

static void url_of(const ud_clients *l, const watch *w, ex_text *to)
{
    const nomad *n = l->nomad;
    const char *space = n->space[0] || w == &n->services ? n->space : n->job_space;

    ex_text_printf(to, "%s/v1/", n->base);
    if (w == &n->services) {
        ex_text_printf(to, "service/%s", n->service);
    } else {
        ex_text_printf(to, "job/");
        ex_text_escape(to, n->job);
        ex_text_printf(to, "/allocations");
    }
    ex_text_printf(to, "?index=%llu&wait=%ds", (unsigned long long)w->index, WAIT_S);
    if (space[0]) ex_text_printf(to, "&namespace=");
    ex_text_escape(to, space);
    if (n->region[0]) ex_text_printf(to, "&region=");
    ex_text_escape(to, n->region);
}

/* The index to wait for next: what ran backwards begins anew. */
static uint64_t next_index(uint64_t before, const char *header)
{
    uint64_t index;

    if (!ex_parse_uint64(header, &index) || index < before) return 0;
    return index;
}

static void read_answer(ud_clients *l, watch *w, const ud_answer *a)
{
    nomad *n = l->nomad;
    char why[160];
    int32_t count;

    if (a->status != 200) {
        if (a->status == 0) snprintf(w->why, sizeof w->why, "%.120s", a->text);
        else if (a->status == 403) snprintf(w->why, sizeof w->why, "the token is refused (403)");
        else snprintf(w->why, sizeof w->why, "the answer is %d", (int)a->status);
        return;
    }
    if (w == &n->services) {
        static ud_place place[UD_CLIENTS_MOST];
        count = ud_parse_services(a->text, a->size, place, UD_CLIENTS_MOST, why);
        if (count > 0) memcpy(n->place, place, (size_t)count * sizeof *place);
        if (count >= 0) n->places = count;
    } else {
        ud_alloc *alloc = malloc(ALLOCS_MOST * sizeof *alloc);
        count = alloc ? ud_parse_allocations(a->text, a->size, alloc, ALLOCS_MOST, why) : -1;
        if (!alloc) snprintf(why, sizeof why, "not enough memory for the answer");
        if (count >= 0) {
            free(n->alloc);
            n->alloc = alloc;
            n->allocations = count;
        } else {
            free(alloc);
        }
    }
    if (count < 0) memcpy(w->why, why, sizeof why);
    else w->index = next_index(w->index, a->header);
}

static void on_answer(void *user, const ud_answer *a)
{
    watch *w = user;

    w->asked = false;
    w->why[0] = '\0';
    if (w->unwanted) {
        w->unwanted = false;
        return;
    }
    w->answered = true;
    read_answer(w->owner, w, a);
}

static double backoff(int32_t failures)
{
    double s = 0.5;

    for (; failures > 1 && s < 30; failures--) s *= 2;
    return s < 30 ? s : 30;
}

static void ask(ud_clients *l, watch *w, double now_s)
{
    const char *headers[2] = { NULL, NULL };
    ex_text url = { NULL, 0, 0, false };

    if (w->asked || now_s < w->due_s) return;
    if (l->nomad->token[0]) headers[0] = l->nomad->token;
    url_of(l, w, &url);
    w->asked = !url.failed && ud_web_ask(l->web, url.data, headers, NULL, "X-Nomad-Index", WAIT_S + WAIT_S / 16 + 10,
                                         on_answer, w);
    ex_text_free(&url);
    if (!w->asked) w->due_s = now_s + backoff(++w->failures);
}

/* Takes in what came; true: something that was right. */
static bool heard(ud_clients *l, watch *w, double now_s)
{
    bool services = w == &l->nomad->services;

    if (!w->answered) return false;
    w->answered = false;
    if (!w->why[0]) {
        if (w->failing) ex_warn("nomad: %s: answers again", w->what);
        if (w->failing && services) { /* so will the other question be answered */
            l->nomad->allocs.due_s = now_s;
            l->nomad->allocs.failures = 0;
        }
        w->failing = false;
        w->failures = 0;
        w->good = true;
        w->due_s = now_s + (w->index ? PAUSE_S : SPARSE_S);
        return true;
    }
    if (!w->failing && services) {
        ex_warn("nomad: %s: %s; the %d clients of before stay", w->what, w->why, (int)l->count);
    } else if (!w->failing) {
        ex_warn("nomad: %s: %s; %s", w->what, w->why, w->good ? "what was known of them holds" :
                "whoever is registered counts as running");
    }
    w->failing = true;
    w->index = 0; /* who answers next may count anew, and would have us wait for an index of long ago */
    w->due_s = now_s + backoff(++w->failures);
    return false;
}

/* Another job runs that service now. */
static void job_take(nomad *n)
{
    const ud_place *p = &n->place[0];

    if (strcmp(n->job, p->job) == 0 && strcmp(n->job_space, p->space) == 0) return;
    memcpy(n->job, p->job, sizeof n->job);
    memcpy(n->job_space, p->space, sizeof n->job_space);
    n->allocs.index = 0;
    n->allocs.due_s = 0;
    n->allocs.unwanted = n->allocs.asked;
    n->allocs.good = n->allocs.failing = n->allocs.answered = false;
    n->allocations = 0;
}

static void nomad_turn(ud_clients *l, double now_s)
{
    nomad *n = l->nomad;
    int32_t before = n->allocs.failures;
    bool told;
    char where[200];

    if (heard(l, &n->services, now_s)) {
        if (n->places) job_take(n);
        n->news = true;
    }
    if (heard(l, &n->allocs, now_s) || n->allocs.failures > before) n->news = true;
    ask(l, &n->services, now_s);
    if (n->job[0]) ask(l, &n->allocs, now_s);
    told = !n->job[0] || n->allocs.good || n->allocs.failing || n->allocs.unwanted; /* the first round waits for both */
    if (!n->services.good || !told || !n->news) return;
    n->news = false;
    nomad_guests(l);
    snprintf(where, sizeof where, "nomad: %s", n->service);
    if (!some(l, where)) return;
    qsort(l->guest, (size_t)l->guests, sizeof *l->guest, by_name);
    apply(l, now_s);
}

/* "namespace=a&region=b" */
static bool query_take(nomad *n, char *query)
{
    char *end, *value;

    for (; query; query = end ? end + 1 : NULL) {
        end = strchr(query, '&');
        if (end) *end = '\0';
        value = strchr(query, '=');
        if (!value || !value[1]) return false;
        *value++ = '\0';
        if (strcmp(query, "namespace") == 0 && copy(n->space, sizeof n->space, value)) continue;
        if (strcmp(query, "region") == 0 && copy(n->region, sizeof n->region, value)) continue;
        return false;
    }
    return true;
}

static bool token_take(nomad *n)
{
    const char *token = getenv("NOMAD_TOKEN"), *at = token;

    if (!token || !token[0]) return true;
    for (; *at > ' ' && *at <= '~'; at++) {}
    if (*at || strlen(token) >= UD_TEXT_MOST) return ex_fail("NOMAD_TOKEN is no token") == EX_OK;
    snprintf(n->token, sizeof n->token, "X-Nomad-Token: %s", token);
    return true;
}

static bool nomad_open(ud_clients *l, const char *text)
{
    nomad *n = calloc(1, sizeof *n);
    char *query, *slash, *host;
    bool ok;

    if (!n) return ex_fail("not enough memory for clients") == EX_OK;
    l->nomad = n;
    ok = copy(n->base, sizeof n->base, text);
    query = strchr(n->base, '?');
    if (query) *query++ = '\0';
    host = strstr(n->base, "://");
    slash = strrchr(n->base, '/');
    ok = ok && host && host[3] && slash > host + 3 && copy(n->service, sizeof n->service, slash + 1);
    ok = ok && (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0);
    ok = ok && plain(n->service, "._-") && query_take(n, query);
    if (!ok) {
        ex_usage("clients", "'nomad:%.80s' should be nomad:http://HOST:4646/SERVICE, maybe with ?namespace=NAME or "
                 "region=NAME behind it", text);
        return false;
    }
    *slash = '\0';
    n->services.owner = n->allocs.owner = l;
    n->services.what = n->service;
    n->allocs.what = "allocations";
    if (l->web) return token_take(n);
    return ex_fail("clients: nobody asks Nomad") == EX_OK;
}

static void nomad_close(ud_clients *l)
{
    if (!l->nomad) return;
    free(l->nomad->alloc);
    free(l->nomad);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* Names of a list are looked up once, before there is anything to wait. */
static bool list_open(ud_clients *l, const char *text, double now_s)
{
    ud_place *place = malloc(UD_CLIENTS_MOST * sizeof *place);
    struct sockaddr_in6 at;
    char why[160], port[8];
    int32_t i, count;
    bool ok;

    if (!place) return ex_fail("not enough memory for clients") == EX_OK;
    count = ud_parse_clients(text, place, UD_CLIENTS_MOST, why);
    ok = count > 0;
    if (!ok) ex_usage("clients", "%s", why);
    for (i = 0; ok && i < count; i++) {
        ud_place *p = &place[i];
        snprintf(port, sizeof port, "%d", (int)p->port);
        if (guest_take(l, p)) continue;
        ok = look_up(p->host, port, &at, 1, why) == 1;
        if (ok) address_text(&at, p->host);
        if (!ok || !guest_take(l, p)) {
            ex_usage("clients", "%s: %s", p->host, why[0] ? why : "is no address of a client");
            ok = false;
        }
    }
    free(place);
    if (ok) apply(l, now_s);
    return ok;
}

bool ud_clients_create(const ud_config *c, rllb_balancer *keeper, ud_board *board, ud_metrics *m, ud_web *w,
                       double now_s, ud_clients **out)
{
    ud_clients *l = calloc(1, sizeof *l);
    bool ok;

    *out = NULL;
    if (!l) return ex_fail("not enough memory for clients") == EX_OK;
    l->keeper = keeper;
    l->board = board;
    l->metrics = m;
    l->web = w;
    l->kind = strncmp(c->clients, "dns:", 4) == 0     ? BY_DNS
              : strncmp(c->clients, "nomad:", 6) == 0 ? BY_NOMAD
                                                      : BY_LIST;
    if (l->kind == BY_DNS) ok = dns_open(l, c->clients + 4);
    else if (l->kind == BY_NOMAD) ok = nomad_open(l, c->clients + 6);
    else ok = list_open(l, c->clients, now_s);
    if (ok) *out = l;
    else ud_clients_destroy(l);
    return ok;
}

void ud_clients_destroy(ud_clients *l)
{
    if (!l) return;
    dns_close(l);
    nomad_close(l);
    free(l);
}

void ud_clients_turn(ud_clients *l, double now_s)
{
    if (l->kind == BY_DNS) dns_turn(l, now_s);
    if (l->kind == BY_NOMAD) nomad_turn(l, now_s);
    clear_away(l, now_s);
}

int32_t ud_clients_count(const ud_clients *l)
{
    return l->count;
}

const char *ud_clients_name(const ud_clients *l, int32_t client)
{
    if (client < 0 || client >= UD_CLIENTS_MOST || !l->seat[client].here) return NULL;
    return l->seat[client].name;
}
