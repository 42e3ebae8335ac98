/* allocator.c - spreads UDP datagrams over clients that come and go, by how busy these are

   Datagrams that arrive at one port are passed to clients: all of a sender to one of them, or each to another. Which
   one is decided by any policy of rllb.h on what is in flight, or by a model trained on CPU, memory and network
   (udp_train), which are read from a time series database, from Prometheus exporters or from a file. Replies go back to
   the sender. udp.h says which file does what, forward.c how datagrams travel, docs/udp.md how to set it up.

   Build:   make build/udp/allocator (libcurl and cJSON; `sh setup.sh deps` installs them). Linux
   Run:     build/udp/allocator --clients 10.0.0.5:5005,10.0.0.6:5005 --listen 10.0.0.1:5005
   Prints:  "listening on ADDRESS:PORT" once it is ready, and at the end what has passed
   Signals: SIGTERM, SIGINT end it. SIGHUP changes nothing: clients are looked for all the time */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TURN_S 0.1
#define STATUS_S 1.0

typedef struct allocator {
    ud_config set;
    ud_board board;
    ud_mind *mind;
    ud_metrics *metrics; /* this and the next: NULL where nobody asked for them */
    ud_source *source;
    ud_web *web;
    ud_clients *clients;
    ud_health *health;
    ud_forward *forward;
    pthread_t data;
    double status_s; /* when the next is due */
    bool mute;       /* the status file cannot be written, and that was said */
} allocator;

/* ---- the status file -------------------------------------------------------------------------------------------- */

typedef struct counter {
    const char *name, *words;
    size_t at; /* in ud_board, or in ud_seat */
    bool gauge;
} counter;

#define BOARD(field) offsetof(ud_board, field)
#define SEAT(field) offsetof(ud_seat, field)

static const counter of_all[] = {
    { "received_total", "datagrams from senders", BOARD(received), false },
    { "sent_total", "datagrams sent to clients", BOARD(sent), false },
    { "returned_total", "replies sent to senders", BOARD(returned), false },
    { "no_client_total", "datagrams dropped for want of a client", BOARD(no_client), false },
    { "dropped_total", "datagrams that the kernel refused to send", BOARD(dropped), false },
    { "resent_total", "datagrams that came back refused, and went to another client", BOARD(resent), false },
    { "strangers_total", "datagrams dropped that came as replies, but from no client", BOARD(strangers), false },
    { "flows_made_total", "senders that came", BOARD(flows_made), false },
    { "flows_moved_total", "times a sender left a client that was gone, down or refused", BOARD(flows_moved), false },
    { "no_room_total", "senders forgotten before their time, for want of room", BOARD(no_room), false },
    { "uncounted_total", "datagrams given up as in flight before their time", BOARD(uncounted), false },
    { "batches_total", "times that datagrams were received", BOARD(batches), false },
    { "calls_total", "system calls that sent some", BOARD(calls), false },
    { "flows", "senders now", BOARD(flows_open), true },
};

static const counter of_each[] = {
    { "client_sent_total", "datagrams sent to this client", SEAT(sent), false },
    { "client_sent_bytes_total", "bytes of these", SEAT(sent_bytes), false },
    { "client_replies_total", "replies from it", SEAT(replies), false },
    { "client_refused_total", "datagrams that it refused, or that could not be sent to it", SEAT(refused), false },
    { "client_given_total", "senders, or datagrams, given to it", SEAT(flows), false },
};

static uint64_t word_at(const void *object, size_t at)
{
    return ud_load((const uint64_t *)(const void *)((const unsigned char *)object + at));
}

static void say_head(ex_text *t, const counter *c)
{
    ex_text_printf(t, "# HELP rllb_udp_%s %s\n# TYPE rllb_udp_%s %s\n", c->name, c->words, c->name,
                   c->gauge ? "gauge" : "counter");
}

static void say_label(ex_text *t, const char *name)
{
    for (; *name; name++) {
        if (*name == '\n') ex_text_add(t, "\\n", 2);
        else if (*name == '"' || *name == '\\') ex_text_printf(t, "\\%c", *name);
        else ex_text_add(t, name, 1);
    }
}

static void say_clients(ex_text *t, const allocator *a, const counter *c)
{
    rllb_server_info info;
    int32_t i;

    say_head(t, c);
    for (i = 0; i < UD_CLIENTS_MOST; i++) {
        if (rllb_balancer_server(ud_mind_keeper(a->mind), i, &info) != RLLB_OK || !info.name[0]) continue;
        if (info.state == RLLB_SERVER_NONE) continue;
        ex_text_printf(t, "rllb_udp_%s{client=\"", c->name);
        say_label(t, info.name);
        ex_text_printf(t, "\"} %llu\n", (unsigned long long)word_at(&a->board.seat[i], c->at));
    }
}

static void say_balancer(ex_text *t, const allocator *a, double now_s)
{
    const rllb_balancer *b = ud_mind_keeper(a->mind);
    size_t size = 65536, needed;
    char *page = NULL, *more;

    while ((more = realloc(page, size)) != NULL) {
        page = more;
        needed = rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, now_s, page, size);
        if (needed <= size) {
            ex_text_add(t, page, needed ? needed - 1 : 0);
            break;
        }
        size = 2 * needed;
    }
    if (!more) t->failed = true;
    free(page);
}

static void write_status(allocator *a, double now_s)
{
    ex_text t = { NULL, 0, 0, false };
    size_t i;
    int error;

    if (!a->set.status[0]) return;
    for (i = 0; i < sizeof of_all / sizeof *of_all; i++) {
        say_head(&t, &of_all[i]);
        ex_text_printf(&t, "rllb_udp_%s %llu\n", of_all[i].name,
                       (unsigned long long)word_at(&a->board, of_all[i].at));
    }
    ex_text_printf(&t, "# HELP rllb_udp_blind 1: the fallback serves, for want of fresh metrics\n"
                       "# TYPE rllb_udp_blind gauge\nrllb_udp_blind %d\n", ud_mind_blind(a->mind));
    for (i = 0; i < sizeof of_each / sizeof *of_each; i++) say_clients(&t, a, &of_each[i]);
    say_balancer(&t, a, now_s);
    error = t.failed ? ENOMEM : ex_file_replace(a->set.status, t.data, t.size, 0666);
    if (error && !a->mute) ex_warn("status: %s: %s", a->set.status, strerror(error));
    a->mute = error != 0;
    ex_text_free(&t);
}

/* ---- control ---------------------------------------------------------------------------------------------------- */

static double unix_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void turn(allocator *a)
{
    double now_s = ex_clock_s();

    ud_clients_turn(a->clients, now_s);
    ud_health_turn(a->health, a->clients, now_s);
    if (a->source) ud_source_turn(a->source, a->metrics, unix_s(), now_s);
    ud_mind_turn(a->mind, a->metrics, &a->board, now_s);
    ud_board_mirror(&a->board, ud_mind_keeper(a->mind));
    if (now_s < a->status_s) return;
    a->status_s = now_s + STATUS_S;
    write_status(a, now_s);
}

static void *run_data(void *user)
{
    ud_forward_run(user);
    return NULL;
}

static void ignore(int number)
{
    (void)number;
}

/* Signals are for this thread. */
static bool start_data(allocator *a)
{
    struct sigaction hup;
    sigset_t all, before;
    int error;

    ex_catch_interrupts();
    memset(&hup, 0, sizeof hup);
    hup.sa_handler = ignore;
    sigaction(SIGHUP, &hup, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&a->data, NULL, run_data, a->forward);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) ex_fail("no thread: %s", strerror(error));
    return !error;
}

static void say_address(const allocator *a)
{
    const struct in6_addr *at = &a->set.listen.sin6_addr;
    char host[INET6_ADDRSTRLEN] = "?";

    if (IN6_IS_ADDR_V4MAPPED(at)) inet_ntop(AF_INET, at->s6_addr + 12, host, sizeof host);
    else inet_ntop(AF_INET6, at, host, sizeof host);
    printf(IN6_IS_ADDR_V4MAPPED(at) ? "listening on %s:%d\n" : "listening on [%s]:%d\n", host,
           (int)ud_forward_port(a->forward));
    fflush(stdout);
}

static int serve(allocator *a)
{
    const ud_board *b = &a->board;

    turn(a);
    if (!start_data(a)) return EX_FAILED;
    say_address(a);
    while (!ex_interrupted()) {
        ud_web_turn(a->web, TURN_S);
        turn(a);
    }
    ud_store_word(&a->board.stop, 1);
    pthread_join(a->data, NULL);
    write_status(a, ex_clock_s());
    printf("received %llu, sent %llu, returned %llu\n", (unsigned long long)ud_load(&b->received),
           (unsigned long long)ud_load(&b->sent), (unsigned long long)ud_load(&b->returned));
    return EX_OK;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------ */

/* What the settings are to blame for comes first. */
static int open_all(allocator *a)
{
    double now_s = ex_clock_s();
    const ud_config *c = &a->set;
    bool ok = ud_mind_create(c, now_s, &a->mind);

    if (c->source[0]) ok = ok && ud_metrics_create(c, &a->metrics) && ud_source_create(c, &a->source);
    ok = ok && ud_web_create(&a->web);
    ok = ok && ud_clients_create(c, ud_mind_keeper(a->mind), &a->board, a->metrics, a->web, now_s, &a->clients);
    ok = ok && ud_health_create(c, ud_mind_keeper(a->mind), &a->board, &a->health);
    if (!ok) return EX_USAGE;
    return ud_forward_create(c, ud_mind_worker(a->mind), &a->board, &a->forward) ? EX_GO_ON : EX_FAILED;
}

static void close_all(allocator *a)
{
    ud_forward_destroy(a->forward);
    if (a->source) ud_source_destroy(a->source);
    if (a->web) ud_web_destroy(a->web);
    if (a->clients) ud_clients_destroy(a->clients);
    if (a->health) ud_health_destroy(a->health);
    if (a->metrics) ud_metrics_destroy(a->metrics);
    if (a->mind) ud_mind_destroy(a->mind);
}

/* ---- settings --------------------------------------------------------------------------------------------------- */

/* A text of the settings, as an option. */
typedef struct text_of {
    const char *option;
    char *to;
    size_t size;
} text_of;

static int take_text(void *self, const char *text)
{
    const text_of *t = self;
    size_t i, length = strlen(text);

    if (length >= t->size) return ex_usage(t->option, "longer than %d bytes", (int)t->size - 1);
    for (i = 0; i < length; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 127) return ex_usage(t->option, "has control characters");
    }
    memcpy(t->to, text, length + 1);
    return EX_GO_ON;
}

/* ADDRESS:PORT, [ADDRESS]:PORT, or PORT of this machine alone. */
static int take_listen(void *self, const char *text)
{
    const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    struct sockaddr_in6 *out = self;
    char host[80] = "::ffff:127.0.0.1";
    int64_t number;

    if (!ex_parse_int64(port, &number) || number < 0 || number > 65535) {
        return ex_usage("listen", "'%s' has no port from 0 to 65535", text);
    }
    if (colon && length > 2 && length < 64 && text[0] == '[' && text[length - 1] == ']') {
        snprintf(host, sizeof host, "%.*s", (int)length - 2, text + 1);
    } else if (colon) {
        snprintf(host, sizeof host, "::ffff:%.*s", length < 64 ? (int)length : 0, text);
    }
    memset(out, 0, sizeof *out);
    out->sin6_family = AF_INET6;
    out->sin6_port = htons((uint16_t)number);
    if (inet_pton(AF_INET6, host, &out->sin6_addr) == 1) return EX_GO_ON;
    return ex_usage("listen", "'%s' is no address with a port", text);
}

static void set_defaults(ud_config *c)
{
    memset(c, 0, sizeof *c);
    take_listen(&c->listen, "127.0.0.1:0");
    c->sticky = UD_STICKY_FLOW;
    c->replies = true;
    c->flows = 4096;
    c->idle_s = 60;
    c->window_s = 0.25;
    snprintf(c->policy, sizeof c->policy, "sed");
    snprintf(c->fallback, sizeof c->fallback, "sed");
    c->seed = 1;
    c->interval_s = 1;
    c->stale_s = 5;
    c->probe_s = 1;
    c->probe_timeout_s = 0.5;
    c->rise = 2;
    c->fall = 3;
    c->silence_s = 0;
}

static const char details[] =
    "Times are seconds. A reading older than --stale is none; it should cover a few --interval and what agents add.\n"
    "With --sticky flow all datagrams of a sender (address and port) go to one client until it is silent for --idle,\n"
    "or the client is down; ecmp, wcmp and maglev find the same client again after a restart. With --sticky datagram\n"
    "each is decided anew.\n\n"
    "    allocator --listen 10.0.0.1:5005 --clients a=10.0.0.5:5005,b=10.0.0.6:5005*2\n"
    "    allocator --clients nomad:http://127.0.0.1:4646/receiver --source influx1:http://10.0.0.2:8086 \\\n"
    "        --policy model --model out/udp_train/model.safetensors\n\n"
    "Exit status: 0 ended by a signal, 1 it could not start, 2 wrong settings.\n";

static int read_settings(ud_config *c, int argc, char **argv)
{
    static const char *const stickies[] = { "flow", "datagram", NULL };
    static text_of policy, fallback, model, source, database, org, token, clients, capacity, probe, status;
    int32_t sticky = 0;
    int end;
#define TEXT(field, value, help) EX_CALL(#field, take_text, &field, value, help)
    ex_option options[] = {
        EX_HEADING("Datagrams"),
        EX_CALL("listen", take_listen, &c->listen, "ADDRESS:PORT",
                "where they arrive; port 0: the kernel chooses [127.0.0.1:0]"),
        EX_CHOICE("sticky", &sticky, stickies, "one client for a sender as long as it sends, or one for each datagram"),
        EX_FLAG("replies", &c->replies, "pass replies back to the sender; =no: one socket sends all, nothing returns"),
        EX_INT("flows", &c->flows, 1, 1000000, "N",
               "senders at once at most, the longest idle one makes room; with replies each takes a socket"),
        EX_DOUBLE("idle", &c->idle_s, 0.1, 86400, "S", "a sender is forgotten that is silent for so long"),
        EX_DOUBLE("window", &c->window_s, 0.001, 60, "S",
                  "a datagram counts as at its client for so long if no reply ends it"),
        EX_DOUBLE("busy", &c->busy_us, 0, 1e6, "US",
                  "look for datagrams for so long before sleeping: less delay, up to a whole processor"),
        EX_HEADING("Clients"),
        TEXT(clients, "WHO", "HOST:PORT,NAME=HOST:PORT*WEIGHT,... or dns:NAME:PORT or nomad:URL/SERVICE"),
        TEXT(probe, "TEXT", "is sent to each client, which answers it with anything; default: no probes"),
        EX_DOUBLE("probe-every", &c->probe_s, 0.05, 3600, "S", "between two probes"),
        EX_DOUBLE("probe-timeout", &c->probe_timeout_s, 0.01, 600, "S", "for the answer to a probe"),
        EX_INT("rise", &c->rise, 1, 100, "N", "answers in a row that bring a client back"),
        EX_INT("fall", &c->fall, 1, 100, "N", "probes in a row without an answer that take it out"),
        EX_DOUBLE("silence", &c->silence_s, 0, 3600, "S",
                  "a client is out that did not answer for so long what it was sent; 0: never"),
        EX_HEADING("Deciding"),
        TEXT(policy, "NAME", "model, or a policy of rllb.h: sed, lsq, round_robin, maglev, awcmp, ... [sed]"),
        TEXT(model, "FILE", "for policy model: safetensors of udp_train"),
        TEXT(fallback, "NAME", "the policy that serves while metrics are missing or old [sed]"),
        EX_SEED("seed", &c->seed, "of random numbers and of the hash by which senders are spread"),
        EX_HEADING("Metrics"),
        TEXT(source, "WHERE",
             "influx1:URL, influx2:URL, collectd:URL, prometheus:[NAME=]URL,... or file:PATH; for model, awcmp"),
        TEXT(database, "NAME", "database, or bucket [telegraf]"),
        TEXT(org, "NAME", "influx2: the organisation"),
        TEXT(token, "TEXT", "its token, or @FILE that holds it; default: INFLUX_TOKEN of the environment"),
        EX_DOUBLE("interval", &c->interval_s, 0.25, 10, "S", "between two polls"),
        EX_DOUBLE("stale", &c->stale_s, 0.5, 3600, "S", "readings older than that do not count"),
        TEXT(capacity, "FILE", "what each client can do; default: 125,000,000 bytes a second each way"),
        EX_HEADING("Watching"),
        TEXT(status, "FILE", "Prometheus text, written whole each second"),
    };
    ex_program program = { .name = "allocator", .summary = "spreads UDP datagrams over clients", .details = details,
                           .options = options, .option_count = EX_COUNT(options) };
#undef TEXT

    set_defaults(c);
#define PLACE(field) field = (text_of){ #field, c->field, sizeof c->field }
    PLACE(policy);
    PLACE(fallback);
    PLACE(model);
    PLACE(source);
    PLACE(database);
    PLACE(org);
    PLACE(token);
    PLACE(clients);
    PLACE(capacity);
    PLACE(probe);
    PLACE(status);
#undef PLACE
    end = ex_options_parse(&program, argc, argv);
    if (end >= 0) return end;
    c->sticky = sticky ? UD_STICKY_DATAGRAM : UD_STICKY_FLOW;
    if (!c->clients[0]) return ex_usage("clients", "is missing: who gets the datagrams?");
    return EX_GO_ON;
}

int main(int argc, char **argv)
{
    static allocator a;
    int status = read_settings(&a.set, argc, argv);

    if (status != EX_GO_ON) return status;
    status = open_all(&a);
    if (status == EX_GO_ON) status = serve(&a);
    close_all(&a);
    return status;
}
