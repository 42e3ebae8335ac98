/* admin.c - the operator's port: the page, what it shows, metrics, and switches

       GET  /                            the page (page.html), which asks for the next every second
       GET  /status.json                 all that it shows
       GET  /metrics                     Prometheus, text format 0.0.4
       POST /shadow?on=1|0               decide in shadow, or serve
       POST /drain?server=NAME&on=1|0    no new requests for that server, or again
       POST /reload                      read the settings again

   It listens on the loopback unless told, and asks for no password: whoever reaches the port is the operator. But a
   page of somebody else's that the operator's browser shows must not pass for him. So a POST needs the header
   "X-Rllb-Admin: 1", which a page of another origin can only send after it asked, and is never allowed to; and all but
   /metrics need a Host that is an address or localhost, so that nobody's name for this address helps. Each connection
   is good for one request, ten seconds and some kilobytes; there are at most 64. */

#include "proxy.h"

#include "common.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GUESTS_MOST = 64, PATIENCE_MS = 10000, LINGER_MS = 500, READ_BYTES = 4096, HISTORY = 300, HEAD_ROOM = 1024 };

static const unsigned char page[] = {
#include "page.inc"
};

/* A connection. It is freed when both handles are closed. */
typedef struct guest {
    struct guest *next, *before;
    px_admin *admin;
    uv_tcp_t tcp;
    uv_timer_t timer;
    int32_t open; /* handles */
    bool closing, answered, written, ended; /* ended: the other side says no more */
    uv_write_t write;
    uv_shutdown_t shutdown;
    px_message message;
    ex_text out;
    char bytes[READ_BYTES];
} guest;

/* What the page draws over time: a number a second. */
typedef struct moment {
    float reward, per_s, failed_per_s, p50_ms, p99_ms;
} moment;

struct px_admin {
    px_proxy *proxy;
    uv_tcp_t tcp;
    uv_timer_t timer;
    int32_t open, port, guests;
    guest *first;
    bool closing;
    moment history[HISTORY];
    int32_t newest, count;
};

/* ---- status ---------------------------------------------------------------------------------------------------- */

static double in_ms(double seconds)
{
    return 1e3 * seconds;
}

static const char *state_name(rllb_server_state state)
{
    static const char *const names[RLLB_SERVER_STATE_NUM] = { "gone", "up", "draining", "down", "ejected" };

    return (int)state >= 0 && state < RLLB_SERVER_STATE_NUM ? names[state] : "?";
}

static const px_server_config *configured(const px_config *c, const char *name)
{
    int32_t i;

    for (i = 0; i < c->server_count; i++) {
        if (strcmp(c->server[i].name, name) == 0) return &c->server[i];
    }
    return NULL;
}

static void put_address(ex_json *j, const char *key, const char *host, int32_t port)
{
    char text[80];

    snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, (int)port);
    ex_json_string(j, key, text);
}

static void put_late(ex_json *j, const px_late *late)
{
    ex_json_float(j, "per_s", (float)late->per_s);
    ex_json_float(j, "failed_per_s", (float)late->failed_per_s);
    ex_json_float(j, "p50_ms", (float)in_ms(late->p50_s));
    ex_json_float(j, "p99_ms", (float)in_ms(late->p99_s));
}

static void put_server(ex_json *j, px_proxy *proxy, int32_t index, const rllb_server_info *info)
{
    const px_server_config *c = configured(&proxy->config, info->name);
    px_server_total total;
    px_pool_info pool;

    px_watch_server(proxy->watch, index, &total);
    px_upstream_info(proxy->upstream, index, &pool);
    ex_json_row(j, NULL);
    ex_json_string(j, "name", info->name);
    ex_json_int(j, "index", index);
    if (c) put_address(j, "address", c->host, c->port);
    ex_json_string(j, "state", state_name(info->state));
    ex_json_bool(j, "usable", info->usable);
    ex_json_float(j, "weight", info->weight);
    ex_json_float(j, "weight_in_force", info->weight_in_force);
    ex_json_int(j, "in_flight", info->in_flight);
    put_late(j, &total.late);
    ex_json_uint(j, "ok", total.ok);
    ex_json_uint(j, "failed", total.failed);
    ex_json_uint(j, "cancelled", total.cancelled);
    ex_json_uint(j, "ejections", info->ejections);
    ex_json_int(j, "connections", pool.busy);
    ex_json_int(j, "idle_connections", pool.idle);
    ex_json_end(j);
}

static void put_servers(ex_json *j, px_proxy *proxy)
{
    const rllb_balancer *b = px_policy_balancer(proxy->policy);
    int32_t i, used = rllb_balancer_servers(b);
    rllb_server_info info;

    ex_json_array(j, "servers");
    for (i = 0; i < used; i++) {
        if (rllb_balancer_server(b, i, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) continue;
        put_server(j, proxy, i, &info);
    }
    ex_json_end(j);
}

static void put_requests(ex_json *j, const px_total *total)
{
    int32_t i;

    ex_json_row(j, "requests");
    put_late(j, &total->late);
    for (i = 0; i < PX_ENDINGS; i++) ex_json_uint(j, px_ending_name((px_ending)i), total->ended[i]);
    ex_json_uint(j, "tried_again", total->tried_again);
    ex_json_uint(j, "bytes_in", total->bytes_in);
    ex_json_uint(j, "bytes_out", total->bytes_out);
    ex_json_end(j);
}

static void put_guard(ex_json *j, const rllb_balancer *b)
{
    rllb_counters n;

    rllb_balancer_counters(b, &n);
    ex_json_row(j, "balancer");
#define PUT_COUNTER(name, words) ex_json_uint(j, #name, n.name);
    RLLB_COUNTER_LIST(PUT_COUNTER)
#undef PUT_COUNTER
    ex_json_end(j);
}

static float of_moment(const moment *m, int32_t what)
{
    switch (what) {
    case 0: return m->reward;
    case 1: return m->per_s;
    case 2: return m->failed_per_s;
    case 3: return m->p50_ms;
    default: return m->p99_ms;
    }
}

/* Oldest first. */
static void put_history(ex_json *j, const px_admin *a)
{
    static const char *const names[] = { "reward", "per_s", "failed_per_s", "p50_ms", "p99_ms" };
    int32_t what, i;

    ex_json_object(j, "history");
    for (what = 0; what < EX_COUNT(names); what++) {
        ex_json_row_array(j, names[what]);
        for (i = a->count - 1; i >= 0; i--) {
            ex_json_float(j, NULL, of_moment(&a->history[(a->newest - i + HISTORY) % HISTORY], what));
        }
        ex_json_end(j);
    }
    ex_json_end(j);
}

static double wall_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void write_status(px_admin *a, ex_text *out)
{
    px_proxy *proxy = a->proxy;
    const px_config *c = &proxy->config;
    ex_json j = { .to = out };
    px_total total;

    px_watch_total(proxy->watch, &total);
    ex_json_object(&j, NULL);
    ex_json_double(&j, "time_s", wall_s());
    ex_json_double(&j, "up_s", total.up_s);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    put_address(&j, "listen", c->listen_host, proxy->listen_port);
    ex_json_string(&j, "policy", px_policy_name(proxy->policy));
    ex_json_string(&j, "fallback", c->fallback);
    ex_json_bool(&j, "shadow", px_policy_is_shadow(proxy->policy));
    ex_json_bool(&j, "checks", c->health_path[0] != '\0');
    ex_json_bool(&j, "draining", proxy->draining);
    ex_json_int(&j, "clients", px_clients_open(proxy->clients));
    ex_json_double(&j, "reward", px_policy_reward(proxy->policy));
    ex_json_uint(&j, "reloads", proxy->reloads);
    ex_json_uint(&j, "reloads_refused", proxy->reloads_refused);
    ex_json_uint(&j, "log_lines", total.log_lines);
    ex_json_uint(&j, "log_lost", total.log_lost);
    put_requests(&j, &total);
    put_guard(&j, px_policy_balancer(proxy->policy));
    put_servers(&j, proxy);
    put_history(&j, a);
    ex_json_end(&j);
}

/* ---- metrics --------------------------------------------------------------------------------------------------- */

static const char *number(double value, char out[32])
{
    if (isnan(value)) return "NaN";
    if (isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    return ex_number_double(value, out);
}

static void family(ex_text *t, const char *name, const char *type, const char *help)
{
    ex_text_printf(t, "# HELP rllb_proxy_%s %s\n# TYPE rllb_proxy_%s %s\n", name, help, name, type);
}

static void sample(ex_text *t, const char *name, const char *labels, double value)
{
    char digits[32];

    ex_text_printf(t, "rllb_proxy_%s%s %s\n", name, labels, number(value, digits));
}

static void one(ex_text *t, const char *name, const char *type, const char *help, double value)
{
    family(t, name, type, help);
    sample(t, name, "", value);
}

static void metrics_requests(ex_text *t, const px_total *total)
{
    char labels[64];
    int32_t i;

    family(t, "requests_total", "counter", "requests by how they ended");
    for (i = 0; i < PX_ENDINGS; i++) {
        snprintf(labels, sizeof labels, "{ending=\"%s\"}", px_ending_name((px_ending)i));
        sample(t, "requests_total", labels, (double)total->ended[i]);
    }
    one(t, "tried_again_total", "counter", "attempts after the first of a request", (double)total->tried_again);
    family(t, "body_bytes_total", "counter", "bytes of bodies, from and to clients");
    sample(t, "body_bytes_total", "{direction=\"in\"}", (double)total->bytes_in);
    sample(t, "body_bytes_total", "{direction=\"out\"}", (double)total->bytes_out);
    family(t, "log_lines_total", "counter", "lines for the access log");
    sample(t, "log_lines_total", "{result=\"taken\"}", (double)total->log_lines);
    sample(t, "log_lines_total", "{result=\"lost\"}", (double)total->log_lost);
}

static void metrics_durations(ex_text *t, const px_watch *w, const px_total *total)
{
    static const double bounds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                     0.25,   0.5,   1,      2.5,   5,    10,    30 };
    uint64_t below[EX_COUNT(bounds)], all = 0;
    char labels[64], digits[32];
    int32_t i;

    px_watch_below(w, bounds, EX_COUNT(bounds), below);
    for (i = 0; i < PX_ENDINGS; i++) all += total->ended[i];
    family(t, "request_seconds", "histogram", "from the first byte of a request to the last of its answer");
    for (i = 0; i < EX_COUNT(bounds); i++) {
        snprintf(labels, sizeof labels, "{le=\"%s\"}", number(bounds[i], digits));
        sample(t, "request_seconds_bucket", labels, (double)below[i]);
    }
    sample(t, "request_seconds_bucket", "{le=\"+Inf\"}", (double)all);
    sample(t, "request_seconds_sum", "", total->sum_s);
    sample(t, "request_seconds_count", "", (double)all);
}

/* The samples of one family for all servers. Names are plain, config.c sees to it. */
typedef void (*server_samples)(ex_text *t, px_proxy *proxy, int32_t index, const char *labels);

static void each_server(ex_text *t, px_proxy *proxy, server_samples put)
{
    const rllb_balancer *b = px_policy_balancer(proxy->policy);
    int32_t i, used = rllb_balancer_servers(b);
    rllb_server_info info;
    char labels[80];

    for (i = 0; i < used; i++) {
        if (rllb_balancer_server(b, i, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) continue;
        snprintf(labels, sizeof labels, "index=\"%d\",server=\"%s\"", (int)i, info.name);
        put(t, proxy, i, labels);
    }
}

static void put_quantile(ex_text *t, const char *labels, const char *quantile, double value)
{
    char all[120];

    snprintf(all, sizeof all, "{%s,quantile=\"%s\"}", labels, quantile);
    sample(t, "server_seconds", all, value);
}

static void put_durations(ex_text *t, px_proxy *proxy, int32_t index, const char *labels)
{
    px_server_total total;
    char all[120];

    px_watch_server(proxy->watch, index, &total);
    put_quantile(t, labels, "0.5", total.late.p50_s);
    put_quantile(t, labels, "0.99", total.late.p99_s);
    snprintf(all, sizeof all, "{%s}", labels);
    sample(t, "server_seconds_sum", all, total.sum_s);
    sample(t, "server_seconds_count", all, (double)(total.ok + total.failed));
}

static void put_attempts(ex_text *t, px_proxy *proxy, int32_t index, const char *labels)
{
    static const char *const results[] = { "ok", "failed", "cancelled" };
    px_server_total total;
    char all[120];
    int32_t i;

    px_watch_server(proxy->watch, index, &total);
    for (i = 0; i < EX_COUNT(results); i++) {
        snprintf(all, sizeof all, "{%s,result=\"%s\"}", labels, results[i]);
        sample(t, "server_attempts_total", all, (double)(i == 0 ? total.ok : i == 1 ? total.failed : total.cancelled));
    }
}

static void put_connections(ex_text *t, px_proxy *proxy, int32_t index, const char *labels)
{
    px_pool_info pool;
    char all[120];

    px_upstream_info(proxy->upstream, index, &pool);
    snprintf(all, sizeof all, "{%s,state=\"busy\"}", labels);
    sample(t, "server_connections", all, pool.busy);
    snprintf(all, sizeof all, "{%s,state=\"idle\"}", labels);
    sample(t, "server_connections", all, pool.idle);
}

static void put_opened(ex_text *t, px_proxy *proxy, int32_t index, const char *labels)
{
    static const char *const results[] = { "opened", "reused", "failed" };
    px_pool_info pool;
    char all[120];
    int32_t i;

    px_upstream_info(proxy->upstream, index, &pool);
    for (i = 0; i < EX_COUNT(results); i++) {
        snprintf(all, sizeof all, "{%s,result=\"%s\"}", labels, results[i]);
        sample(t, "server_connections_total", all, (double)(i == 0 ? pool.opened : i == 1 ? pool.reused : pool.failed));
    }
}

static void metrics_servers(ex_text *t, px_proxy *proxy)
{
    family(t, "server_seconds", "summary", "duration of attempts, quantiles of the last ten seconds");
    each_server(t, proxy, put_durations);
    family(t, "server_attempts_total", "counter", "attempts by how they ended");
    each_server(t, proxy, put_attempts);
    family(t, "server_connections", "gauge", "connections to the server");
    each_server(t, proxy, put_connections);
    family(t, "server_connections_total", "counter", "connections opened, used once more, and refused");
    each_server(t, proxy, put_opened);
}

static void metrics_balancer(ex_text *t, const rllb_balancer *b)
{
    size_t size = rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, wall_s(), NULL, 0);
    char *text = malloc(size);

    if (text) rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, wall_s(), text, size);
    if (text) ex_text_add(t, text, size - 1);
    else t->failed = true;
    free(text);
}

static void write_metrics(px_admin *a, ex_text *t)
{
    px_proxy *proxy = a->proxy;
    px_total total;
    const char *policy = px_policy_name(proxy->policy);
    bool shadow = px_policy_is_shadow(proxy->policy);
    char labels[120];

    px_watch_total(proxy->watch, &total);
    metrics_balancer(t, px_policy_balancer(proxy->policy));
    family(t, "info", "gauge", "the policy that is set, and the version");
    snprintf(labels, sizeof labels, "{policy=\"%s\",version=\"%s\"}", policy, RLLB_VERSION_STRING);
    sample(t, "info", labels, 1);
    one(t, "up_seconds", "gauge", "since the start", total.up_s);
    one(t, "shadow", "gauge", "1: the policy decides in shadow, the fallback serves", shadow);
    one(t, "clients", "gauge", "connections of clients", px_clients_open(proxy->clients));
    one(t, "reward", "gauge", "-milliseconds / 10 a request, -1000 a failure, of about the last second",
        px_policy_reward(proxy->policy));
    family(t, "reloads_total", "counter", "readings of the settings while running");
    sample(t, "reloads_total", "{result=\"done\"}", proxy->reloads);
    sample(t, "reloads_total", "{result=\"refused\"}", proxy->reloads_refused);
    metrics_requests(t, &total);
    metrics_durations(t, proxy->watch, &total);
    metrics_servers(t, proxy);
}

/* ---- connections ----------------------------------------------------------------------------------------------- */

static void admin_free(px_admin *a)
{
    if (a->closing && a->open == 0 && a->guests == 0) free(a);
}

static void guest_closed(uv_handle_t *handle)
{
    guest *g = handle->data;
    px_admin *a = g->admin;

    if (--g->open > 0) return;
    if (g->before) g->before->next = g->next;
    else a->first = g->next;
    if (g->next) g->next->before = g->before;
    a->guests--;
    ex_text_free(&g->out);
    free(g);
    admin_free(a);
}

static void guest_close(guest *g)
{
    if (g->closing) return;
    g->closing = true;
    uv_close((uv_handle_t *)&g->tcp, guest_closed);
    uv_close((uv_handle_t *)&g->timer, guest_closed);
}

static void out_of_time(uv_timer_t *timer)
{
    guest_close(timer->data);
}

/* What is still on its way from there would make the kernel take back the answer: it is waited for a while. */
static void on_shutdown(uv_shutdown_t *request, int status)
{
    guest *g = request->handle->data;

    if (g->closing) return;
    if (status < 0 || g->ended) guest_close(g);
    else uv_timer_start(&g->timer, out_of_time, LINGER_MS, 0);
}

static void on_written(uv_write_t *request, int status)
{
    guest *g = request->handle->data;

    if (g->closing) return;
    g->written = true;
    if (status < 0 || uv_shutdown(&g->shutdown, (uv_stream_t *)&g->tcp, on_shutdown) < 0) guest_close(g);
}

/* The page may load nothing and send nothing but to where it came from. */
static const char heads[] =
    "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

/* The whole answer, and the end of the connection. */
static void say(guest *g, int32_t status, const char *type, const void *body, size_t size)
{
    bool head_only = g->message.method == HTTP_HEAD;
    uv_buf_t buffer;

    if (g->closing || g->answered) return;
    g->answered = true;
    ex_text_printf(&g->out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s", (int)status,
                   px_status_words(status), type, size, heads);
    if (status == 405) ex_text_printf(&g->out, "Allow: GET, HEAD, POST\r\n");
    ex_text_printf(&g->out, "\r\n");
    if (!head_only) ex_text_add(&g->out, body, size);
    if (g->out.failed) {
        guest_close(g);
        return;
    }
    buffer = uv_buf_init(g->out.data, (unsigned)g->out.size);
    if (uv_write(&g->write, (uv_stream_t *)&g->tcp, &buffer, 1, on_written) < 0) guest_close(g);
}

static void say_line(guest *g, int32_t status, const char *words)
{
    char line[200];

    snprintf(line, sizeof line, "%s\n", words);
    say(g, status, "text/plain; charset=utf-8", line, strlen(line));
}

static void say_text(guest *g, const char *type, void (*write)(px_admin *a, ex_text *out))
{
    ex_text text = { NULL, 0, 0, false };

    write(g->admin, &text);
    if (text.failed) say_line(g, 500, "not enough memory");
    else say(g, 200, type, text.data, text.size);
    ex_text_free(&text);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static bool slice_is(px_slice s, const char *text)
{
    return s.text && (size_t)s.size == strlen(text) && memcmp(s.text, text, (size_t)s.size) == 0;
}

/* 127.0.0.1, [::1], localhost, with or without a port: nobody else's name. */
static bool is_our_host(px_slice host)
{
    unsigned char bytes[16];
    char text[80], *end;

    if (!host.text || host.size < 1 || host.size >= (int32_t)sizeof text) return false;
    memcpy(text, host.text, (size_t)host.size);
    text[host.size] = '\0';
    if (text[0] == '[') {
        end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':')) return false;
        *end = '\0';
        return inet_pton(AF_INET6, text + 1, bytes) == 1;
    }
    end = strchr(text, ':');
    if (end) *end = '\0';
    return strcmp(text, "localhost") == 0 || inet_pton(AF_INET, text, bytes) == 1;
}

/* The value of KEY in "KEY=VALUE&..."; empty: there is none. */
static void value_of(const char *query, const char *key, char *out, size_t room)
{
    size_t size = strlen(key);

    out[0] = '\0';
    while (query && *query) {
        size_t length = strcspn(query, "&");
        if (length > size && strncmp(query, key, size) == 0 && query[size] == '=' && length - size - 1 < room) {
            memcpy(out, query + size + 1, length - size - 1);
            out[length - size - 1] = '\0';
            return;
        }
        query += length + (query[length] == '&');
    }
}

static bool take_switch(guest *g, const char *query, bool *on)
{
    char text[8];

    value_of(query, "on", text, sizeof text);
    *on = text[0] == '1';
    if ((text[0] == '1' || text[0] == '0') && !text[1]) return true;
    say_line(g, 400, "on=1 or on=0 is wanted");
    return false;
}

static void post_shadow(guest *g, const char *query)
{
    bool on;

    if (!take_switch(g, query, &on)) return;
    px_policy_shadow(g->admin->proxy->policy, on, px_now_s());
    say_line(g, 200, on ? "in shadow: the fallback serves" : "the policy serves");
}

static void post_drain(guest *g, const char *query)
{
    px_policy *p = g->admin->proxy->policy;
    char name[PX_NAME_MOST];
    int32_t server;
    bool on;

    if (!take_switch(g, query, &on)) return;
    value_of(query, "server", name, sizeof name);
    server = name[0] ? px_policy_server(p, name) : -1;
    if (server < 0) say_line(g, 404, "no server of that name");
    else if (px_policy_drain(p, server, on, px_now_s())) say_line(g, 200, on ? "draining" : "back");
    else say_line(g, 409, "refused");
}

/* This port may move meanwhile, and this connection end. */
static void post_reload(guest *g)
{
    bool ok = px_proxy_reload(g->admin->proxy);

    say_line(g, ok ? 200 : 409, ok ? "settings read again" : "refused: what is wrong stands in the proxy's log");
}

static void post(guest *g, const char *path, const char *query)
{
    if (strcmp(path, "/shadow") != 0 && strcmp(path, "/drain") != 0 && strcmp(path, "/reload") != 0) {
        say_line(g, 404, "nothing here");
    } else if (!slice_is(px_message_header(&g->message, "X-Rllb-Admin"), "1")) {
        say_line(g, 403, "the header X-Rllb-Admin: 1 is missing");
    } else if (path[1] == 's') {
        post_shadow(g, query);
    } else if (path[1] == 'd') {
        post_drain(g, query);
    } else {
        post_reload(g);
    }
}

static void get(guest *g, const char *path)
{
    if (strcmp(path, "/") == 0) say(g, 200, "text/html; charset=utf-8", page, sizeof page);
    else if (strcmp(path, "/status.json") == 0) say_text(g, "application/json", write_status);
    else if (strcmp(path, "/metrics") == 0) say_text(g, "text/plain; version=0.0.4; charset=utf-8", write_metrics);
    else say_line(g, 404, "nothing here");
}

static void answer(guest *g)
{
    const px_message *m = &g->message;
    char target[256], *query;

    if (m->target.size >= (int32_t)sizeof target) {
        say_line(g, 404, "nothing here");
        return;
    }
    memcpy(target, m->target.text, (size_t)m->target.size);
    target[m->target.size] = '\0';
    query = strchr(target, '?');
    if (query) *query++ = '\0';
    if (strcmp(target, "/metrics") != 0 && !is_our_host(m->host)) {
        say_line(g, 403, "the Host must be an address or localhost");
    } else if (m->method == HTTP_GET || m->method == HTTP_HEAD) {
        get(g, target);
    } else if (m->method == HTTP_POST) {
        post(g, target, query);
    } else {
        say_line(g, 405, "GET, HEAD or POST");
    }
}

static void on_room(uv_handle_t *tcp, size_t suggested, uv_buf_t *buffer)
{
    guest *g = tcp->data;

    (void)suggested;
    *buffer = uv_buf_init(g->bytes, sizeof g->bytes);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    guest *g = stream->data;

    if (size < 0) {
        g->ended = true;
        uv_read_stop(stream);
        if (!g->answered || g->written || size != UV_EOF) guest_close(g);
    }
    if (size <= 0 || g->answered || g->closing) return;
    px_message_feed(&g->message, buffer->base, (size_t)size, NULL, NULL);
    if (g->message.phase == PX_WHOLE) answer(g);
    if (g->message.phase == PX_BROKEN) say_line(g, g->message.status, px_status_words(g->message.status));
}

static void on_connection(uv_stream_t *stream, int status)
{
    static const px_limits limits = { 8192, 1024, 64, 1024 };
    px_admin *a = stream->data;
    guest *g = status < 0 ? NULL : calloc(1, sizeof *g);

    if (!g) return;
    g->admin = a;
    g->open = 2;
    g->tcp.data = g->timer.data = g;
    g->next = a->first;
    if (a->first) a->first->before = g;
    a->first = g;
    a->guests++;
    uv_tcp_init(a->proxy->loop, &g->tcp);
    uv_timer_init(a->proxy->loop, &g->timer);
    g->tcp.data = g->timer.data = g;
    px_message_begin(&g->message, PX_REQUEST, &limits, NULL);
    uv_timer_start(&g->timer, out_of_time, PATIENCE_MS, 0);
    if (uv_accept(stream, (uv_stream_t *)&g->tcp) < 0 || a->guests > GUESTS_MOST) guest_close(g);
    else if (uv_read_start((uv_stream_t *)&g->tcp, on_room, on_read) < 0) guest_close(g);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void each_second(uv_timer_t *timer)
{
    px_admin *a = timer->data;
    px_total total;
    moment *m;

    a->newest = (a->newest + 1) % HISTORY;
    if (a->count < HISTORY) a->count++;
    m = &a->history[a->newest];
    px_watch_total(a->proxy->watch, &total);
    m->reward = (float)px_policy_reward(a->proxy->policy);
    m->per_s = (float)total.late.per_s;
    m->failed_per_s = (float)total.late.failed_per_s;
    m->p50_ms = (float)in_ms(total.late.p50_s);
    m->p99_ms = (float)in_ms(total.late.p99_s);
}

static void handle_closed(uv_handle_t *handle)
{
    px_admin *a = handle->data;

    a->open--;
    admin_free(a);
}

static int listen_at(px_admin *a, const char *host, int32_t port)
{
    struct sockaddr_storage address;
    int status, size = (int)sizeof address;

    memset(&address, 0, sizeof address);
    if (strchr(host, ':')) status = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    else status = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (status == 0) status = uv_tcp_bind(&a->tcp, (const struct sockaddr *)&address, 0);
    if (status == 0) status = uv_listen((uv_stream_t *)&a->tcp, GUESTS_MOST, on_connection);
    if (status == 0) status = uv_tcp_getsockname(&a->tcp, (struct sockaddr *)&address, &size);
    if (status < 0) return status;
    if (address.ss_family == AF_INET6) a->port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    else a->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    return 0;
}

px_admin *px_admin_create(px_proxy *proxy)
{
    px_admin *a = calloc(1, sizeof *a);
    int status;

    if (!a) ex_fail("not enough memory for the operator's port");
    if (!a) return NULL;
    a->proxy = proxy;
    uv_tcp_init(proxy->loop, &a->tcp);
    uv_timer_init(proxy->loop, &a->timer);
    a->tcp.data = a->timer.data = a;
    a->open = 2;
    uv_timer_start(&a->timer, each_second, 1000, 1000);
    status = listen_at(a, proxy->config.admin_host, proxy->config.admin_port);
    if (status == 0) return a;
    ex_fail("admin: %s:%d: %s", proxy->config.admin_host, (int)proxy->config.admin_port, uv_strerror(status));
    px_admin_close(a);
    return NULL;
}

int32_t px_admin_port(const px_admin *a)
{
    return a->port;
}

void px_admin_close(px_admin *a)
{
    guest *g;

    if (a->closing) return;
    a->closing = true;
    for (g = a->first; g; g = g->next) guest_close(g);
    uv_close((uv_handle_t *)&a->tcp, handle_closed);
    uv_close((uv_handle_t *)&a->timer, handle_closed);
}
