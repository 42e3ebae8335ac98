/* load.c - load for HTTP servers and the balancers before them, measured as those feel it who wait

   Requests come when they come, whether the last one was answered or not (an open loop), and a request's latency counts
   from the moment it was meant to go out. So a server that stalls for a second shows as a second in the latencies of
   all who came meanwhile; a closed loop, which waits for its answer, would ask less and see one slow request.
   Arrivals and demands are drawn from --seed alone: every balancer meets the same ones.

   Build:   make build/http/load   (needs libuv and http-parser)
   Run:     build/http/load --url http://127.0.0.1:8080/ --rate 500 --duration 30 --work 25:exp --out out/load
            build/http/load --url http://127.0.0.1:8080/ --concurrency 32     as many as it takes, a closed loop
            build/http/load --url http://127.0.0.1:8080/ --sequential --requests 1000
   Prints:  what became of the requests, and percentiles of the latency
   Writes:  results.json (counts, percentiles, the same for every window and server); --log: a row for every request
   Status:  0 if it ran to its end, whatever the servers did; 1 if it was stopped. sent = ok + failed holds always. */

#include "wire.h"

#include <http_parser.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../rllb.h"
#include "arrivals.h"
#include "data.h"
#include "options.h"
#include "terminal.h"

/* ---- settings ---------------------------------------------------------------------------------------------- */

enum { TARGETS_MOST = 64, SERVERS_MOST = 4096, TEXT_MOST = 512, WINDOWS_MOST = 100000 };
enum { OPEN, CLOSED, SEQUENTIAL };
enum { LAW_NONE, LAW_EXPONENTIAL, LAW_FIXED, LAW_LOGNORMAL, LAW_TRACE };

static const char *const arrivals_names[] = { "poisson", "uniform", "trace", NULL };
static const char *const law_names[] = { "none", "exp", "fixed", "lognormal", "trace", NULL };
static const char *const mode_names[] = { "open", "closed", "sequential", NULL };

static const char *url_text, *trace_path, *work_text, *log_path, *out = "out/load";
static int32_t arrivals, concurrency, connections_most = 2000, mode, law;
static int64_t requests_most;
static double rate = 100, duration_s = 10, timeout_s = 10, warmup, window_s = 10, work_ms;
static bool sequential, quiet;
static uint64_t seed = 1;

static ex_option options[] = {
    EX_HEADING("Requests"),
    EX_STRING("url", &url_text, "URL,...", "where to, http and an address; each request goes to one of them at random"),
    EX_DOUBLE("rate", &rate, 1e-3, 1e7, "R", "requests a second"),
    EX_DOUBLE("duration", &duration_s, 1e-2, 1e6, "S", "how long requests are sent"),
    EX_INT64("requests", &requests_most, 0, 1000000000, "N", "so many, however long it takes; 0: as many as come"),
    EX_CHOICE("arrivals", &arrivals, arrivals_names, "at random, evenly, or as recorded"),
    EX_STRING("trace", &trace_path, "FILE",
              "times and works of requests, which come at the file's pace or at --rate; or amounts over time, which "
              "are spread over --duration (see rllb_env.h)"),
    EX_INT("concurrency", &concurrency, 0, 60000, "N", "a closed loop of so many at a time; 0: an open loop"),
    EX_FLAG("sequential", &sequential, "one after the other, at --rate (default 10) or as its answer allows"),
    EX_STRING("work", &work_text, "MS[:LAW]",
              "demand of a request, its mean, sent as X-Work; exp, fixed, lognormal (deviation = mean) or trace; "
              "default: none is sent, LAW exp"),
    EX_DOUBLE("timeout", &timeout_s, 1e-3, 1e5, "S", "after that a request counts as failed"),
    EX_INT("connections", &connections_most, 1, 60000, "N", "open at most; one is opened when none is idle"),
    EX_HEADING("Report"),
    EX_DOUBLE("warmup", &warmup, 0, 0.95, "X", "share of the run whose latencies are left out at its start"),
    EX_DOUBLE("window", &window_s, 1e-2, 1e6, "S", "length of the windows that are reported one by one"),
    EX_STRING("log", &log_path, "FILE", "CSV of all requests"),
    EX_STRING("out", &out, "DIR", "folder for results.json"),
    EX_SEED("seed", &seed, "of arrivals, demands and the choice of URL"),
    EX_FLAG("quiet", &quiet, "no progress, no table"),
};

static ex_program program = {
    .name = "load",
    .summary = "load for HTTP servers: open loop, latency from the intended send time",
    .details = "Failed requests are told apart: refused (no connection), timeout, closed (no or half an answer),\n"
               "status (an answer that is not 2xx), broken (not HTTP), abandoned (stopped by Ctrl-C).\n"
               "Latencies are those of requests that were answered 2xx. Nothing is sent twice.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- what there is ----------------------------------------------------------------------------------------- */

typedef enum ending { PENDING, OK, REFUSED, TIMEOUT, CLOSED_EARLY, STATUS, BROKEN, ABANDONED, ENDINGS } ending;
static const char *const ending_names[ENDINGS] = { "pending", "ok", "refused", "timeout", "closed", "status", "broken",
                                                   "abandoned" };

typedef struct record {
    double at_s; /* when it was meant to go out */
    float latency_ms, work_ms;
    uint32_t bytes;
    uint16_t status, server; /* server: 0 is nobody */
    uint8_t ending;
} record;

typedef struct connection connection;
typedef struct target target;

typedef struct request { /* one that has no end yet */
    struct request *next, *prev;           /* of all, in order of at_s */
    struct request *wait_next, *wait_prev; /* that wait for a connection */
    int64_t number;
    target *to;
    connection *on; /* NULL: it waits */
} request;

struct connection {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    http_parser parser;
    target *to;
    request *carries;
    connection *next, *prev; /* idle ones */
    px_caught server;
    uint32_t bytes;
    bool open, idle, whole, closing;
};

struct target {
    char host[80], path[TEXT_MOST], head[2 * TEXT_MOST]; /* head: all of a request but X-Work and the last line */
    size_t head_size;
    struct sockaddr_storage address;
    request *first, *last; /* that wait */
    int32_t waiting, opening;
    connection *idle;
};

static struct {
    uv_loop_t *loop;
    px_alarm alarm;
    uv_timer_t ticker;
    uv_signal_t signals[2];
    target targets[TARGETS_MOST];
    int32_t target_count, connection_count;

    record *records;
    int64_t sent, room, failed, late_sum_ns, late_most_ns;
    request *first, *last, *spare;
    int64_t owed; /* closed loop: requests to be sent because others have ended */

    char servers[SERVERS_MOST][48];
    int32_t server_count;

    ex_arrivals when;
    rllb_rng what, where;
    double next_s; /* the next arrival */

    uint64_t start_ns;
    double ended_s;
    bool interrupted, out_of_memory;
    ex_progress bar;
} all;

static double now_s(void)
{
    return (double)(uv_hrtime() - all.start_ns) * 1e-9;
}

/* ---- demands ----------------------------------------------------------------------------------------------- */

static double work_next(void)
{
    const rllb_env_trace *t = all.when.trace;
    double wide = log(2.0);

    switch (law) {
    case LAW_EXPONENTIAL: return rllb_rng_exponential(&all.what, work_ms);
    case LAW_FIXED: return work_ms;
    case LAW_LOGNORMAL: return work_ms * exp(sqrt(wide) * rllb_rng_normal(&all.what) - wide / 2);
    case LAW_TRACE: return work_ms * t->work[all.sent % t->count] / (t->total / t->count);
    default: return 0;
    }
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static void wait_remove(request *r)
{
    target *t = r->to;

    *(r->wait_prev ? &r->wait_prev->wait_next : &t->first) = r->wait_next;
    *(r->wait_next ? &r->wait_next->wait_prev : &t->last) = r->wait_prev;
    t->waiting--;
}

static void wait_append(request *r)
{
    target *t = r->to;

    r->wait_next = NULL;
    r->wait_prev = t->last;
    *(t->last ? &t->last->wait_next : &t->first) = r;
    t->last = r;
    t->waiting++;
}

/* The one way in which a request ends. */
static void request_end(request *r, ending how, int32_t status, uint16_t server, uint32_t bytes)
{
    record *to = &all.records[r->number];
    double end_s = now_s();

    if (!r->on) wait_remove(r);
    else r->on->carries = NULL;
    to->ending = (uint8_t)how;
    to->status = (uint16_t)status;
    to->server = server;
    to->bytes = bytes;
    to->latency_ms = (float)((end_s - to->at_s) * 1000);
    all.failed += how != OK;
    all.ended_s = end_s;
    *(r->prev ? &r->prev->next : &all.first) = r->next;
    *(r->next ? &r->next->prev : &all.last) = r->prev;
    r->next = all.spare;
    all.spare = r;
    if (mode == CLOSED) all.owed++;
}

static record *record_new(void)
{
    record *grown;

    if (all.sent == all.room) {
        all.room = all.room ? 2 * all.room : 65536;
        grown = realloc(all.records, (size_t)all.room * sizeof *grown);
        if (!grown) return NULL;
        all.records = grown;
    }
    memset(&all.records[all.sent], 0, sizeof *all.records);
    return &all.records[all.sent];
}

static request *request_new(double at_s)
{
    request *r = all.spare;
    record *to = record_new();

    if (r) all.spare = r->next;
    else r = malloc(sizeof *r);
    if (!r || !to) {
        free(r);
        all.out_of_memory = true;
        uv_stop(all.loop);
        return NULL;
    }
    memset(r, 0, sizeof *r);
    to->at_s = at_s;
    to->work_ms = (float)work_next();
    r->number = all.sent++;
    r->to = &all.targets[all.target_count > 1 ? rllb_rng_below(&all.where, all.target_count) : 0];
    r->prev = all.last;
    *(all.last ? &all.last->next : &all.first) = r;
    all.last = r;
    return r;
}

/* ---- connections ------------------------------------------------------------------------------------------- */

static void connection_open(target *t);

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void idle_remove(connection *c)
{
    *(c->prev ? &c->prev->next : &c->to->idle) = c->next;
    if (c->next) c->next->prev = c->prev;
    c->idle = false;
}

/* Somebody may wait for the connection that may now be opened in its place. */
static void connection_close(connection *c, ending how)
{
    target *t = c->to;

    if (c->closing) return;
    c->closing = true;
    if (c->idle) idle_remove(c);
    if (!c->open) t->opening--;
    all.connection_count--;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    if (c->carries) request_end(c->carries, how, 0, 0, 0);
}

static void on_sent(uv_stream_t *stream, int status)
{
    if (status < 0) connection_close((connection *)stream, CLOSED_EARLY);
}

static void carry(connection *c, request *r)
{
    static char text[2 * TEXT_MOST + 64];
    target *t = c->to;
    size_t size = t->head_size;
    uv_buf_t part;

    c->carries = r;
    r->on = c;
    memcpy(text, t->head, size);
    if (law != LAW_NONE) {
        size += (size_t)snprintf(text + size, 62, "X-Work: %.4f\r\n", (double)all.records[r->number].work_ms);
    }
    text[size++] = '\r';
    text[size++] = '\n';
    part = uv_buf_init(text, (unsigned)size);
    if (px_send((uv_stream_t *)&c->tcp, &part, 1, on_sent) < 0) connection_close(c, CLOSED_EARLY);
}

/* An open connection with nothing to do. */
static void connection_free(connection *c)
{
    target *t = c->to;

    if (t->first) {
        request *r = t->first;
        wait_remove(r);
        carry(c, r);
        return;
    }
    c->idle = true;
    c->prev = NULL;
    c->next = t->idle;
    if (t->idle) t->idle->prev = c;
    t->idle = c;
}

/* ---- answers ----------------------------------------------------------------------------------------------- */

static uint16_t server_of(const char *name)
{
    static uint16_t last;
    int32_t i;

    if (!*name) return 0;
    if (strncmp(all.servers[last], name, sizeof *all.servers - 1) == 0) return last;
    for (i = 1; i < all.server_count; i++) {
        if (strncmp(all.servers[i], name, sizeof *all.servers - 1) == 0) return last = (uint16_t)i;
    }
    if (all.server_count == SERVERS_MOST) return 0;
    snprintf(all.servers[all.server_count], sizeof *all.servers, "%.47s", name);
    return last = (uint16_t)all.server_count++;
}

static int on_begin(http_parser *p)
{
    connection *c = p->data;

    c->bytes = 0;
    c->whole = false;
    px_caught_begin(&c->server);
    return 0;
}

static int on_name(http_parser *p, const char *at, size_t size)
{
    px_caught_name(&((connection *)p->data)->server, "x-server", at, size);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t size)
{
    px_caught_value(&((connection *)p->data)->server, "x-server", at, size);
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t size)
{
    connection *c = p->data;

    (void)at;
    c->bytes = size < UINT32_MAX - c->bytes ? c->bytes + (uint32_t)size : UINT32_MAX;
    return 0;
}

/* An interim answer (1xx) is none. */
static int on_whole(http_parser *p)
{
    connection *c = p->data;

    if (p->status_code < 200) return 0;
    c->whole = true;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings callbacks = {
    .on_message_begin = on_begin,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

/* more: the server goes on to speak, or has closed. */
static void answered(connection *c, bool more)
{
    bool keep = http_should_keep_alive(&c->parser) && !more;

    c->whole = false;
    http_parser_pause(&c->parser, 0);
    request_end(c->carries, c->parser.status_code < 300 ? OK : STATUS, c->parser.status_code,
                server_of(px_caught_text(&c->server)), c->bytes);
    if (keep) connection_free(c);
    else connection_close(c, CLOSED_EARLY);
}

static void settle(void);

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *bytes)
{
    connection *c = (connection *)stream;
    size_t used;

    if (c->closing || size == 0) return;
    if (!c->carries) { /* nobody asked, or the server closes what is idle */
        connection_close(c, CLOSED_EARLY);
    } else if (size < 0) {
        if (size == UV_EOF) http_parser_execute(&c->parser, &callbacks, NULL, 0);
        if (c->whole) answered(c, true);
        else connection_close(c, CLOSED_EARLY);
    } else {
        used = http_parser_execute(&c->parser, &callbacks, bytes->base, (size_t)size);
        if (c->whole) answered(c, used < (size_t)size);
        else if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK || c->parser.upgrade) connection_close(c, BROKEN);
    }
    settle();
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *to)
{
    static char room[65536];

    (void)handle;
    (void)suggested;
    *to = uv_buf_init(room, sizeof room);
}

static void on_connected(uv_connect_t *connecting, int status)
{
    connection *c = connecting->data;
    target *t = c->to;

    if (c->closing) return;
    if (status < 0) {
        connection_close(c, REFUSED);
        if (t->first) request_end(t->first, REFUSED, 0, 0, 0);
    } else {
        c->open = true;
        t->opening--;
        uv_tcp_nodelay(&c->tcp, 1);
        http_parser_init(&c->parser, HTTP_RESPONSE);
        c->parser.data = c;
        if (uv_read_start((uv_stream_t *)&c->tcp, allocate, on_read) < 0) connection_close(c, CLOSED_EARLY);
        else connection_free(c);
    }
    settle();
}

static void connection_open(target *t)
{
    connection *c = calloc(1, sizeof *c);
    int error = UV_ENOMEM;

    if (c) {
        c->to = t;
        c->connecting.data = c;
        t->opening++;
        all.connection_count++;
        uv_tcp_init(all.loop, &c->tcp);
        error = uv_tcp_connect(&c->connecting, &c->tcp, (struct sockaddr *)&t->address, on_connected);
        if (error < 0) connection_close(c, REFUSED);
    }
    if (error < 0 && t->first) request_end(t->first, REFUSED, 0, 0, 0);
}

/* ---- sending ----------------------------------------------------------------------------------------------- */

static bool more_to_come(void)
{
    if (all.interrupted || all.out_of_memory || all.sent >= requests_most) return false;
    return mode == OPEN ? isfinite(all.next_s) : now_s() < duration_s;
}

static void issue(double at_s)
{
    request *r = request_new(at_s);
    connection *c;

    if (!r) return;
    c = r->to->idle;
    if (c) {
        idle_remove(c);
        carry(c, r);
    } else {
        wait_append(r);
    }
}

/* A connection to another target makes room. */
static bool room_for_one(const target *t)
{
    int32_t i;

    if (all.connection_count < connections_most) return true;
    for (i = 0; i < all.target_count; i++) {
        if (&all.targets[i] != t && all.targets[i].idle) {
            connection_close(all.targets[i].idle, CLOSED_EARLY);
            return true;
        }
    }
    return false;
}

/* After all that may have ended a request or a connection. */
static void settle(void)
{
    int64_t owed = all.owed;
    int32_t i;

    all.owed = 0;
    for (; owed > 0 && more_to_come(); owed--) issue(now_s());
    for (i = 0; i < all.target_count; i++) {
        target *t = &all.targets[i];
        while (t->waiting > t->opening && room_for_one(t)) connection_open(t);
    }
    if (!more_to_come() && !all.first) uv_stop(all.loop);
    else if (mode == SEQUENTIAL && !all.first) px_alarm_set(&all.alarm, all.start_ns + (uint64_t)(all.next_s * 1e9));
    if (all.owed > 0) px_alarm_set(&all.alarm, uv_hrtime() + 1000000); /* what fails at once must not keep us here */
}

static void end_at(request *r, ending how)
{
    if (r->on) connection_close(r->on, how);
    else request_end(r, how, 0, 0, 0);
}

static void arrivals_run(double at_s)
{
    while (all.next_s <= at_s && more_to_come()) {
        int64_t late_ns = (int64_t)((at_s - all.next_s) * 1e9);
        all.late_sum_ns += late_ns;
        if (late_ns > all.late_most_ns) all.late_most_ns = late_ns;
        issue(all.next_s);
        all.next_s = ex_arrivals_next(&all.when);
    }
    if (more_to_come()) px_alarm_set(&all.alarm, all.start_ns + (uint64_t)(all.next_s * 1e9));
}

static void on_alarm(void *self)
{
    double at_s = now_s();

    (void)self;
    while (all.first && all.records[all.first->number].at_s + timeout_s <= at_s) end_at(all.first, TIMEOUT);
    if (mode == OPEN) {
        arrivals_run(at_s);
    } else if (mode == SEQUENTIAL && !all.first && all.next_s <= at_s && more_to_come()) {
        issue(at_s);
        all.next_s = at_s + 1 / rate;
    }
    settle();
    if (all.first) {
        px_alarm_set(&all.alarm,
                     all.start_ns + (uint64_t)((all.records[all.first->number].at_s + timeout_s) * 1e9) + 1);
    }
}

static void on_tick(uv_timer_t *timer)
{
    double done_s = now_s() < duration_s ? now_s() : duration_s;

    (void)timer;
    ex_progress_step(&all.bar, requests_most < INT64_MAX ? all.sent : (int64_t)(done_s * 10), "%lld sent, %lld failed",
                     (long long)all.sent, (long long)all.failed);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    all.interrupted = true;
    while (all.first) end_at(all.first, ABANDONED);
    uv_stop(all.loop);
}

/* ---- figures ----------------------------------------------------------------------------------------------- */

typedef struct figures { /* of the requests meant to go out in some time; latencies of those that were answered 2xx */
    int64_t sent, ok, failed[ENDINGS];
    double mean, sd, p50, p90, p95, p99, p999, most;
} figures;

/* of: a server, -1 for all. values: room for count numbers. */
static figures figures_of(const record *records, int64_t count, int32_t of, float *values)
{
    figures f;
    double sum = 0, squares = 0;
    int64_t i;
    int32_t n = 0;

    memset(&f, 0, sizeof f);
    for (i = 0; i < count; i++) {
        if (of >= 0 && records[i].server != of) continue;
        f.sent++;
        f.failed[records[i].ending]++;
        if (records[i].ending == OK) values[n++] = records[i].latency_ms;
    }
    f.ok = f.failed[OK];
    f.failed[OK] = 0;
    f.mean = f.sd = f.p50 = f.p90 = f.p95 = f.p99 = f.p999 = f.most = (double)NAN;
    if (n == 0) return f;
    for (i = 0; i < n; i++) sum += (double)values[i];
    f.mean = sum / n;
    for (i = 0; i < n; i++) squares += ((double)values[i] - f.mean) * ((double)values[i] - f.mean);
    f.sd = n > 1 ? sqrt(squares / (n - 1)) : 0;
    f.p50 = (double)rllb_quantile(values, n, 0.5);
    f.p90 = (double)rllb_quantile(values, n, 0.9);
    f.p95 = (double)rllb_quantile(values, n, 0.95);
    f.p99 = (double)rllb_quantile(values, n, 0.99);
    f.p999 = (double)rllb_quantile(values, n, 0.999);
    f.most = (double)rllb_quantile(values, n, 1);
    return f;
}

static int64_t failed_of(const figures *f)
{
    int64_t sum = 0;
    int32_t i;

    for (i = 0; i < ENDINGS; i++) sum += f->failed[i];
    return sum;
}

/* The first request meant to go out at that time or later. */
static int64_t first_at(double at_s)
{
    int64_t low = 0, high = all.sent;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (all.records[middle].at_s < at_s) low = middle + 1;
        else high = middle;
    }
    return low;
}

static double length_s(void)
{
    if (all.interrupted || duration_s > 1e8) return all.sent > 0 ? all.records[all.sent - 1].at_s : 0;
    return duration_s;
}

static void json_counts(ex_json *j, const figures *f)
{
    int32_t i;

    ex_json_int(j, "sent", f->sent);
    ex_json_int(j, "ok", f->ok);
    ex_json_int(j, "failed", failed_of(f));
    for (i = REFUSED; i < ENDINGS; i++) ex_json_int(j, ending_names[i], f->failed[i]);
}

static double short_ms(double ms)
{
    return round(ms * 10000) / 10000;
}

static void json_latency(ex_json *j, const figures *f)
{
    ex_json_double(j, "mean", short_ms(f->mean));
    ex_json_double(j, "sd", short_ms(f->sd));
    ex_json_double(j, "p50", short_ms(f->p50));
    ex_json_double(j, "p90", short_ms(f->p90));
    ex_json_double(j, "p95", short_ms(f->p95));
    ex_json_double(j, "p99", short_ms(f->p99));
    ex_json_double(j, "p999", short_ms(f->p999));
    ex_json_double(j, "max", short_ms(f->most));
}

static void json_settings(ex_json *j)
{
    ex_json_object(j, "settings");
    ex_json_string(j, "url", url_text);
    ex_json_string(j, "loop", mode_names[mode]);
    ex_json_string(j, "arrivals", mode == OPEN ? arrivals_names[arrivals] : NULL);
    ex_json_string(j, "trace", trace_path);
    ex_json_double(j, "rate", mode == CLOSED ? (double)NAN : rate);
    ex_json_int(j, "concurrency", mode == OPEN ? 0 : mode == CLOSED ? concurrency : 1);
    ex_json_double(j, "duration_s", duration_s > 1e8 ? (double)NAN : duration_s);
    ex_json_string(j, "work", work_text);
    ex_json_double(j, "timeout_s", timeout_s);
    ex_json_double(j, "warmup", warmup);
    ex_json_double(j, "window_s", window_s);
    ex_json_uint(j, "seed", seed);
    ex_json_end(j);
}

static void json_windows(ex_json *j, float *values)
{
    double at_s;
    int32_t i;

    ex_json_array(j, "windows");
    for (i = 0; (at_s = i * window_s) < length_s() && i < WINDOWS_MOST; i++) {
        int64_t from = first_at(at_s), to = first_at(at_s + window_s);
        figures f = figures_of(all.records + from, to - from, -1, values);
        ex_json_row(j, NULL);
        ex_json_double(j, "from_s", at_s);
        ex_json_double(j, "to_s", at_s + window_s < length_s() ? at_s + window_s : length_s());
        json_counts(j, &f);
        json_latency(j, &f);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static void json_servers(ex_json *j, int64_t from, float *values)
{
    int32_t i;

    ex_json_array(j, "servers");
    for (i = 1; i < all.server_count; i++) {
        figures f = figures_of(all.records + from, all.sent - from, i, values);
        if (f.sent == 0) continue;
        ex_json_row(j, NULL);
        ex_json_string(j, "server", all.servers[i]);
        ex_json_int(j, "answered", f.sent);
        ex_json_int(j, "ok", f.ok);
        json_latency(j, &f);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static bool write_results(const figures *whole, const figures *measured, int64_t from, float *values)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", program.name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    json_settings(&j);
    ex_json_bool(&j, "stopped", all.interrupted);
    ex_json_double(&j, "seconds", all.ended_s);
    ex_json_row(&j, "counts");
    json_counts(&j, whole);
    ex_json_end(&j);
    ex_json_double(&j, "ok_per_s", all.ended_s > 0 ? (double)whole->ok / all.ended_s : 0);
    ex_json_row(&j, "latency_ms");
    ex_json_int(&j, "count", measured->ok);
    json_latency(&j, measured);
    ex_json_end(&j);
    ex_json_row(&j, "sent_late_ms"); /* by the generator itself: part of the latencies */
    ex_json_double(&j, "mean", mode == OPEN && all.sent ? (double)all.late_sum_ns * 1e-6 / (double)all.sent : 0);
    ex_json_double(&j, "max", (double)all.late_most_ns * 1e-6);
    ex_json_end(&j);
    json_servers(&j, from, values);
    json_windows(&j, values);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

static bool write_log(void)
{
    ex_text text = { 0 };
    int64_t i;
    bool ok;

    ex_text_printf(&text, "time_s,latency_ms,status,server,bytes,work_ms,result\n");
    for (i = 0; i < all.sent; i++) {
        const record *r = &all.records[i];
        ex_text_printf(&text, "%.6f,%.4f,%d,%s,%lu,%.4f,%s\n", r->at_s, (double)r->latency_ms, r->status,
                       all.servers[r->server], (unsigned long)r->bytes, (double)r->work_ms, ending_names[r->ending]);
    }
    ok = ex_text_write(&text, log_path);
    ex_text_free(&text);
    return ok;
}

static void print_results(const figures *whole, const figures *measured)
{
    ex_table t = { 0 };
    const double values[] = { measured->mean, measured->sd,  measured->p50,  measured->p90,
                              measured->p95,  measured->p99, measured->p999, measured->most };
    int32_t i;
    bool any = false;

    printf("sent %lld = ok %lld + failed %lld", (long long)whole->sent, (long long)whole->ok,
           (long long)failed_of(whole));
    for (i = REFUSED; i < ENDINGS; i++) {
        if (whole->failed[i] == 0) continue;
        printf("%s%s %lld", any ? ", " : " (", ending_names[i], (long long)whole->failed[i]);
        any = true;
    }
    printf("%s; %.1f s, %.1f answered a second\n", any ? ")" : "", all.ended_s,
           all.ended_s > 0 ? (double)whole->ok / all.ended_s : 0);
    ex_table_cell(&t, "latency, ms");
    for (i = 0; i < 8; i++) {
        static const char *const names[] = { "mean", "sd", "P50", "P90", "P95", "P99", "P99.9", "max" };
        ex_table_cell(&t, "%s", names[i]);
    }
    ex_table_row(&t);
    ex_table_cell(&t, "%lld requests", (long long)measured->ok);
    for (i = 0; i < 8; i++) {
        if (isfinite(values[i])) ex_table_cell(&t, "%.3f", values[i]);
        else ex_table_cell(&t, "-");
    }
    ex_table_row(&t);
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static int report(void)
{
    float *values = malloc(((size_t)all.sent + 1) * sizeof *values);
    int64_t from = first_at(warmup * length_s());
    figures whole, measured;
    bool ok;

    if (!values) return ex_fail("not enough memory for the figures");
    whole = figures_of(all.records, all.sent, -1, values);
    measured = figures_of(all.records + from, all.sent - from, -1, values);
    ok = write_results(&whole, &measured, from, values) && (!log_path || write_log());
    if (ok && !quiet) print_results(&whole, &measured);
    free(values);
    return ok && !all.interrupted ? EX_OK : EX_FAILED;
}

/* ---- setting up -------------------------------------------------------------------------------------------- */

static int target_add(const char *text, size_t size)
{
    struct http_parser_url url;
    target *t = &all.targets[all.target_count];
    char host[80];
    int length;

    http_parser_url_init(&url);
    if (all.target_count == TARGETS_MOST) return ex_usage("url", "more than %d", TARGETS_MOST);
    if (size >= TEXT_MOST || http_parser_parse_url(text, size, 0, &url) != 0 || !(url.field_set & 1 << UF_HOST) ||
        url.field_data[UF_SCHEMA].len != 4 || strncmp(text, "http", 4) != 0 || url.field_data[UF_HOST].len > 60) {
        return ex_usage("url", "'%.*s' is not http://ADDRESS:PORT/path", (int)(size < 80 ? size : 80), text);
    }
    snprintf(host, sizeof host, "%.*s", (int)url.field_data[UF_HOST].len, text + url.field_data[UF_HOST].off);
    if (!(url.field_set & 1 << UF_PORT)) url.port = 80;
    if (uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, url.port,
                    (struct sockaddr_in *)&t->address) < 0 &&
        uv_ip6_addr(host, url.port, (struct sockaddr_in6 *)&t->address) < 0) {
        return ex_usage("url", "'%.60s' is not an address (names are not looked up)", host);
    }
    length = (int)(url.field_set & 1 << UF_PATH ? size - url.field_data[UF_PATH].off : 0);
    snprintf(t->path, sizeof t->path, "%.*s", length, text + size - length);
    length = snprintf(t->head, sizeof t->head, "GET %s HTTP/1.1\r\nHost: %s%s%s:%d\r\n",
                      t->path[0] ? t->path : "/", strchr(host, ':') ? "[" : "", host, strchr(host, ':') ? "]" : "",
                      (int)url.port);
    t->head_size = (size_t)length;
    all.target_count++;
    return EX_GO_ON;
}

static int targets_parse(void)
{
    const char *at = url_text;
    int status = EX_GO_ON;

    if (!at) return ex_usage("url", "is missing");
    while (at && status == EX_GO_ON) {
        size_t length = strcspn(at, ",");
        status = target_add(at, length);
        at = at[length] ? at + length + 1 : NULL;
    }
    return status;
}

static int work_parse(void)
{
    char text[64], *name;
    int32_t i;

    if (!work_text) return EX_GO_ON;
    snprintf(text, sizeof text, "%s", work_text);
    name = strchr(text, ':');
    if (name) *name++ = '\0';
    law = LAW_EXPONENTIAL;
    for (i = LAW_EXPONENTIAL; name && law_names[i]; i++) {
        if (strcmp(law_names[i], name) == 0) law = i;
    }
    if (!ex_parse_double(text, &work_ms) || work_ms < 0 || work_ms > 1e6 ||
        (name && strcmp(law_names[law], name) != 0)) {
        return ex_usage("work", "'%.60s' is not MS[:LAW] with LAW exp, fixed, lognormal, trace", work_text);
    }
    return EX_GO_ON;
}

static int arrivals_open(void)
{
    ex_arrivals *a = &all.when;
    int status;

    if (arrivals != EX_ARRIVALS_TRACE && trace_path) return ex_usage("trace", "has no use without --arrivals trace");
    if (law == LAW_TRACE && arrivals != EX_ARRIVALS_TRACE) return ex_usage("work", "trace needs --arrivals trace");
    if (arrivals == EX_ARRIVALS_TRACE && !trace_path) return ex_usage("trace", "is missing");
    a->law = arrivals;
    a->rate = rate;
    a->duration_s = duration_s;
    if (arrivals == EX_ARRIVALS_TRACE) {
        a->trace = ex_trace_read(trace_path);
        if (!a->trace) return EX_FAILED;
        if (a->trace->kind == RLLB_ENV_TRACE_AMOUNTS) {
            if (law == LAW_TRACE) return ex_usage("work", "the trace has amounts, not the work of each request");
            if (duration_s > 1e8) return ex_usage("duration", "is how long a trace of amounts takes");
        } else {
            if (!ex_option_given(&program, "rate")) a->rate = 0;
            if (!ex_option_given(&program, "duration")) a->duration_s = 0;
        }
    }
    status = ex_arrivals_open(a, trace_path, seed, 0);
    rate = a->rate;
    duration_s = a->duration_s;
    return status;
}

static int settings_check(void)
{
    int status = targets_parse();

    if (status == EX_GO_ON) status = work_parse();
    if (status != EX_GO_ON) return status;
    mode = sequential ? SEQUENTIAL : concurrency > 0 ? CLOSED : OPEN;
    if (sequential && concurrency > 0) return ex_usage("sequential", "has no use with --concurrency");
    if (mode != OPEN && ex_option_given(&program, "arrivals")) {
        return ex_usage("arrivals", "has no use in a closed loop, with --concurrency or --sequential");
    }
    if (mode == CLOSED && ex_option_given(&program, "rate")) {
        return ex_usage("rate", "has no use with --concurrency: a closed loop takes what it gets");
    }
    if (sequential && !ex_option_given(&program, "rate")) rate = 10;
    if (requests_most == 0) requests_most = INT64_MAX;
    else if (!ex_option_given(&program, "duration")) duration_s = 1e9;
    if (concurrency > connections_most) connections_most = concurrency;
    return arrivals_open();
}

static int run(void)
{
    static const int numbers[2] = { SIGTERM, SIGINT };
    int32_t i;

    px_wire_begin();
    for (i = 0; i < 2; i++) {
        uv_signal_init(all.loop, &all.signals[i]);
        uv_signal_start(&all.signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(all.loop, &all.ticker);
    if (!px_alarm_open(&all.alarm, all.loop, on_alarm, NULL)) return EX_FAILED;
    rllb_rng_init(&all.what, seed, 1);
    rllb_rng_init(&all.where, seed, 2);
    all.server_count = 1;
    ex_progress_start(&all.bar, "load", requests_most < INT64_MAX ? requests_most : (int64_t)(duration_s * 10), quiet);
    uv_timer_start(&all.ticker, on_tick, 100, 100);
    if (mode == OPEN) all.next_s = ex_arrivals_next(&all.when);
    all.owed = mode == CLOSED ? concurrency : 0;
    all.start_ns = uv_hrtime();
    px_alarm_set(&all.alarm, all.start_ns);
    uv_run(all.loop, UV_RUN_DEFAULT);
    ex_progress_end(&all.bar, NULL);
    if (all.out_of_memory) return ex_fail("not enough memory for %lld requests", (long long)all.sent);
    return report();
}

static void close_any(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (uv_is_closing(handle)) return;
    /* One that is still opening hears that it is cancelled, and is not to be closed for that once more. */
    if (handle->type == UV_TCP) ((connection *)handle)->closing = true;
    uv_close(handle, handle->type == UV_TCP ? on_closed : NULL);
}

static void close_all(void)
{
    if (all.alarm.loop) px_alarm_close(&all.alarm);
    uv_walk(all.loop, close_any, NULL);
    uv_run(all.loop, UV_RUN_DEFAULT);
    uv_loop_close(all.loop);
    while (all.spare) {
        request *next = all.spare->next;
        free(all.spare);
        all.spare = next;
    }
    ex_arrivals_close(&all.when);
    free(all.records);
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);
    ex_lock lock;

    if (status != EX_GO_ON) return status;
    all.loop = uv_default_loop();
    status = settings_check();
    if (status == EX_GO_ON) {
        if (!ex_folder_lock(out, &lock)) return EX_FAILED;
        status = run();
        ex_folder_unlock(&lock);
    }
    close_all();
    return status;
}
