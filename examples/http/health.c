/* health.c - active checks: each server is asked at its turn, and what it says of itself goes to the policy

   A check is one GET on a connection of its own, so that it also finds out whether there is still somebody who takes
   connections. An answer below 400 within the time-out is a good one. So many good ones in a row (rise) put a server
   in, so many bad ones (fall) take it out; at first all are in. Checks of the servers are spread over the interval. At
   most 4 KiB of an answer are looked at. What fails between two checks is the balancer's guard's to see. */

#include "proxy.h"

#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MOST = 4096, REQUEST_MOST = 512, READ_BYTES = 4096 };

/* One check under way. It lives until its connection is closed. */
typedef struct run {
    struct check *check; /* NULL: its result is wanted no longer */
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    px_message message;
    char request[REQUEST_MOST], bytes[READ_BYTES], body[BODY_MOST + 1];
    int32_t body_size;
} run;

typedef struct check {
    struct check *next;
    px_health *health;
    char name[PX_NAME_MOST], host[64];
    int32_t port;
    uv_timer_t timer; /* the time-out of the run, or the time of the next */
    run *run;
    double started_s;
    int32_t good, bad; /* in a row */
    bool up, wanted;
} check;

struct px_health {
    px_proxy *proxy;
    check *first;
};

/* ---- what an answer says --------------------------------------------------------------------------------------- */

/* The number that text begins with; NaN if it begins with none. Loads are not negative. */
static double number_at(const char *text, size_t size)
{
    char digits[32];
    double value;
    size_t n = 0;

    while (n < size && n < sizeof digits - 1 && text[n] && strchr("0123456789+-.eE", text[n])) n++;
    memcpy(digits, text, n);
    digits[n] = '\0';
    if (n < size && !strchr(" \t\r\n,}]", text[n])) return (double)NAN; /* a word that begins with a digit */
    return ex_parse_double(digits, &value) && value >= 0 && value <= 1e12 ? value : (double)NAN;
}

static size_t blanks(const char *text, size_t size)
{
    size_t n = 0;

    while (n < size && (text[n] == ' ' || text[n] == '\t' || text[n] == '\r' || text[n] == '\n')) n++;
    return n;
}

static bool is(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

static void take_number(const char *key, size_t size, double value, px_said *out)
{
    if (is(key, size, "cpu") || is(key, size, "cpu_percent") || is(key, size, "cpu_usage")) out->cpu = value;
    if (is(key, size, "active") || is(key, size, "active_requests")) out->active = value;
    if (is(key, size, "response_time") || is(key, size, "avg_response_time")) out->response_ms = value;
}

/* JSON: every "key": number, however deep; what stands inside strings does not count. */
static void read_json(const char *text, size_t size, px_said *out)
{
    size_t at = 0;

    while (at < size) {
        size_t key = at + 1, end = key, value;
        if (text[at] != '"') {
            at++;
            continue;
        }
        while (end < size && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
        if (end >= size) return;
        value = end + 1 + blanks(text + end + 1, size - end - 1);
        at = end + 1;
        if (value >= size || text[value] != ':') continue;
        value++;
        if (value < size) value += blanks(text + value, size - value);
        if (value < size) take_number(text + key, end - key, number_at(text + value, size - value), out);
    }
}

/* Lines of "Key: value". */
static void read_apache(const char *text, size_t size, px_said *out)
{
    static const char busy[] = "BusyWorkers:";
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at, key = sizeof busy - 1;
        if (length > key && memcmp(text + at, busy, key) == 0) {
            key += blanks(text + at + key, length - key);
            out->busy = number_at(text + at + key, length - key);
        }
        at += length + 1;
    }
}

void px_said_read(px_metrics metrics, const char *text, size_t size, px_said *out)
{
    out->cpu = out->active = out->response_ms = out->busy = (double)NAN;
    if (metrics == PX_METRICS_HEALTH) read_json(text, size, out);
    if (metrics == PX_METRICS_APACHE) read_apache(text, size, out);
}

/* ---- one check ------------------------------------------------------------------------------------------------- */

static void begin(uv_timer_t *timer);
static void out_of_time(uv_timer_t *timer);

static void run_closed(uv_handle_t *tcp)
{
    free(tcp->data);
}

/* Nothing that is still to come from it counts. */
static void run_end(check *c)
{
    if (!c->run) return;
    c->run->check = NULL;
    uv_close((uv_handle_t *)&c->run->tcp, run_closed);
    c->run = NULL;
}

static void wait_for(check *c, double seconds, uv_timer_cb then)
{
    uv_timer_start(&c->timer, then, seconds > 0.001 ? (uint64_t)(1e3 * seconds) : 1, 0);
}

static void finish(check *c, bool good)
{
    px_proxy *proxy = c->health->proxy;
    const px_config *config = &proxy->config;
    double now_s = px_now_s();
    px_said said;

    px_said_read(good ? config->metrics : PX_METRICS_NONE, c->run->body, (size_t)c->run->body_size, &said);
    run_end(c);
    c->good = good ? c->good + 1 : 0;
    c->bad = good ? 0 : c->bad + 1;
    if (c->good >= config->health_rise) c->up = true;
    if (c->bad >= config->health_fall) c->up = false;
    px_policy_health(proxy->policy, px_policy_server(proxy->policy, c->name), c->up, &said, now_s);
    wait_for(c, c->started_s + config->health_interval_s - now_s, begin);
}

static void out_of_time(uv_timer_t *timer)
{
    finish(timer->data, false);
}

static void keep_body(void *self, const char *bytes, size_t size)
{
    run *r = self;
    size_t room = (size_t)(BODY_MOST - r->body_size);

    if (size > room) size = room;
    memcpy(r->body + r->body_size, bytes, size);
    r->body_size += (int32_t)size;
}

/* Over when the answer is whole, or all of it is read that will be. */
static void look(run *r)
{
    px_message *m = &r->message;
    bool head = m->phase == PX_BODY || m->phase == PX_WHOLE;
    bool over = m->phase == PX_WHOLE || m->phase == PX_BROKEN || r->body_size == BODY_MOST;

    if (r->check && over) finish(r->check, head && m->status >= 200 && m->status < 400);
}

static void on_room(uv_handle_t *tcp, size_t suggested, uv_buf_t *buffer)
{
    run *r = tcp->data;

    (void)suggested;
    *buffer = uv_buf_init(r->bytes, sizeof r->bytes);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    run *r = stream->data;

    if (size == 0 || !r->check) return;
    if (size > 0) px_message_feed(&r->message, buffer->base, (size_t)size, keep_body, r);
    else if (size == UV_EOF) px_message_close(&r->message);
    if (size < 0 && size != UV_EOF) finish(r->check, false);
    else look(r);
}

static void on_written(uv_write_t *request, int status)
{
    run *r = request->handle->data;

    if (status < 0 && r->check) finish(r->check, false);
}

static void on_connected(uv_connect_t *request, int status)
{
    run *r = request->handle->data;
    uv_buf_t buffer;

    if (!r->check) return;
    if (status == 0) status = uv_read_start((uv_stream_t *)&r->tcp, on_room, on_read);
    if (status == 0) {
        buffer = uv_buf_init(r->request, (unsigned)strlen(r->request));
        status = uv_write(&r->write, (uv_stream_t *)&r->tcp, &buffer, 1, on_written);
    }
    if (status < 0) finish(r->check, false);
}

static void begin(uv_timer_t *timer)
{
    check *c = timer->data;
    const px_config *config = &c->health->proxy->config;
    bool six = strchr(c->host, ':') != NULL;
    struct sockaddr_storage address;
    px_limits limits = { PX_HEAD_MOST, PX_HEAD_MOST, PX_HEADERS_MOST, 1 << 20 };
    run *r = calloc(1, sizeof *r);

    c->started_s = px_now_s();
    wait_for(c, r ? config->health_timeout_s : config->health_interval_s, r ? out_of_time : begin);
    if (!r) return;
    memset(&address, 0, sizeof address);
    if (six) uv_ip6_addr(c->host, c->port, (struct sockaddr_in6 *)&address);
    else uv_ip4_addr(c->host, c->port, (struct sockaddr_in *)&address);
    snprintf(r->request, sizeof r->request, six ? "GET %s HTTP/1.1\r\nHost: [%s]:%d\r\n%s" :
             "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s", config->health_path, c->host, (int)c->port,
             "User-Agent: rllb-check\r\nConnection: close\r\n\r\n");
    px_message_begin(&r->message, PX_RESPONSE, &limits, NULL);
    r->check = c;
    c->run = r;
    uv_tcp_init(c->health->proxy->loop, &r->tcp);
    r->tcp.data = r;
    if (uv_tcp_connect(&r->connect, &r->tcp, (const struct sockaddr *)&address, on_connected) < 0) finish(c, false);
}

/* ---- all checks ------------------------------------------------------------------------------------------------ */

static void check_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void check_end(check *c)
{
    run_end(c);
    uv_close((uv_handle_t *)&c->timer, check_closed);
}

static check *check_of(px_health *h, const px_server_config *s)
{
    check *c;

    for (c = h->first; c; c = c->next) {
        if (strcmp(c->name, s->name) == 0 && strcmp(c->host, s->host) == 0 && c->port == s->port) return c;
    }
    return NULL;
}

static bool check_start(px_health *h, const px_server_config *s, double delay_s)
{
    check *c = calloc(1, sizeof *c);

    if (!c) return ex_fail("not enough memory for the checks") == EX_OK;
    c->health = h;
    c->up = true;
    c->wanted = true;
    c->port = s->port;
    memcpy(c->name, s->name, sizeof c->name);
    memcpy(c->host, s->host, sizeof c->host);
    uv_timer_init(h->proxy->loop, &c->timer);
    c->timer.data = c;
    wait_for(c, delay_s, begin);
    c->next = h->first;
    h->first = c;
    return true;
}

/* Checks that are not wanted end. Who is no longer checked is taken to be there. */
static void sweep(px_health *h)
{
    px_proxy *proxy = h->proxy;
    check **at = &h->first;

    while (*at) {
        check *c = *at;
        if (c->wanted) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        px_policy_health(proxy->policy, px_policy_server(proxy->policy, c->name), true, NULL, px_now_s());
        check_end(c);
    }
}

/* A check for each server, if any are wanted. */
static bool settle(px_health *h)
{
    const px_config *config = &h->proxy->config;
    int32_t i, count = config->health_path[0] ? config->server_count : 0;
    bool ok = true;
    check *c;

    for (c = h->first; c; c = c->next) c->wanted = false;
    for (i = 0; i < count; i++) {
        c = check_of(h, &config->server[i]);
        if (c) c->wanted = true;
    }
    sweep(h);
    for (i = 0; i < count && ok; i++) {
        if (check_of(h, &config->server[i])) continue;
        ok = check_start(h, &config->server[i], config->health_interval_s * i / count);
    }
    return ok;
}

px_health *px_health_create(px_proxy *proxy)
{
    px_health *h = calloc(1, sizeof *h);

    if (!h) ex_fail("not enough memory for the checks");
    if (!h) return NULL;
    h->proxy = proxy;
    if (settle(h)) return h;
    px_health_close(h);
    return NULL;
}

void px_health_reload(px_health *h)
{
    settle(h);
}

void px_health_close(px_health *h)
{
    while (h->first) {
        check *c = h->first;
        h->first = c->next;
        check_end(c);
    }
    free(h);
}
