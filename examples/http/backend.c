/* backend.c - servers to balance over: one process that acts as many, each with its queue, speed and faults

   A server has slots: so many requests are served at once, the others wait in order. Their service is reckoned, not
   computed: what a request demands comes with it (X-Work: ms at speed 1), or is the server's own delay, and the answer
   goes out when that much work would be done. So one processor holds dozens of servers whose times are exact, and the
   same demands meet every policy. With --sharing a server works as a processor does: all that are active share it.

   Build:   make build/http/backend   (needs libuv and http-parser)
   Run:     build/http/backend --servers 4x2,3x4 --port 9000
            build/http/backend --base-delay 50,75,100
            build/http/backend --servers 3x1 --base-delay 100 --delay 50,75,100
   Prints:  a line `server NAME ADDRESS:PORT` for each, `admin ADDRESS:PORT`, and `ready`
   Serves:  GET /health             JSON: cpu in percent, active_requests, avg_response_time in ms, counters
            POST /fault?kind=...    slow, stop, fail, hang, reset, none, of this server
            anything else           after its time --bytes bytes, with X-Server and X-Active
            On the admin port /health tells of all, and /fault takes server=NAME (a stopped one cannot be reached). */

#include "wire.h"

#include <ctype.h>
#include <http_parser.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../rllb.h"
#include "data.h"
#include "options.h"

enum {
    SERVERS_MOST = 1024,
    EVENTS_MOST = 4096,
    RECENT = 100,                /* answers that avg_response_time is the mean of */
    REST_MOST = 256 * 1024,      /* bytes of pipelined requests held until their turn */
    BODY_MOST = 16 * 1024 * 1024, /* of a request; it is read and forgotten */
    BYTES_MOST = 1024 * 1024,
    SHARED_ACTIVE = 32,
    SHARED_WAITING = 128
};

/* ---- settings ---------------------------------------------------------------------------------------------- */

enum { LAW_FIXED, LAW_EXPONENTIAL };
enum { FROM_REQUEST, FROM_START };
static const char *const law_names[] = { "fixed", "exponential", NULL };
static const char *const from_names[] = { "request", "start", NULL };

static const char *servers_text, *host = "127.0.0.1", *name_text = "s", *fault_text, *script_path;
static int32_t port, admin_port, law, faults_from, answer_bytes = 2, active_most, waiting_most = -1;
static ex_list delays_ms, after_ms;
static bool sharing;
static uint64_t seed = 1;
static double run_s;

static ex_option options[] = {
    EX_HEADING("Servers"),
    EX_STRING("servers", &servers_text, "SPEC,...",
              "[COUNTx]SLOTS[@SPEED], such as 4x2,3x4@0.5; default: one of 64 slots, or one for each of --base-delay"),
    EX_LIST("base-delay", &delays_ms, 0, 1e6, "MS,...",
            "what requests without X-Work demand of the servers in turn; default: nothing"),
    EX_CHOICE("law", &law, law_names, "how that is distributed"),
    EX_LIST("delay", &after_ms, 0, 1e6, "MS,...", "and then so long until the answer, in which no slot is held"),
    EX_FLAG("sharing", &sharing, "slots are CPUs that all active requests share, instead of one for each"),
    EX_INT("active", &active_most, 0, 1000000, "N", "--sharing: active at most; 0: 32, or the slots if more"),
    EX_INT("waiting", &waiting_most, -1, 100000000, "N",
           "waiting at most, one more is answered 503; -1: 128 with --sharing, else 100000"),
    EX_INT("bytes", &answer_bytes, 0, BYTES_MOST, "N", "size of an answer"),
    EX_STRING("name", &name_text, "TEXT", "servers are called that and a number from 0"),
    EX_HEADING("Ports"),
    EX_STRING("host", &host, "ADDRESS", "where to listen"),
    EX_INT("port", &port, 0, 65535, "P", "of the first server, the others follow; 0: the kernel chooses"),
    EX_INT("admin-port", &admin_port, 0, 65535, "P", "the same for the admin port"),
    EX_HEADING("Faults"),
    EX_STRING("fault", &fault_text, "EVENT,...", "such as \"t=20 server=2 kind=slow factor=3 seconds=10\""),
    EX_STRING("script", &script_path, "FILE", "the same, one a line, # begins a comment"),
    EX_CHOICE("faults-from", &faults_from, from_names, "when t is 0: at the first request served, or at `ready`"),
    EX_HEADING("Common"),
    EX_SEED("seed", &seed, "of the servers' own delays"),
    EX_DOUBLE("for", &run_s, 0, 1e7, "S", "ends by itself after so many seconds; 0: never"),
};

static ex_program program = {
    .name = "backend",
    .summary = "one process acts as many HTTP servers, with slots, speeds and faults",
    .details = "Faults: slow (factor=3: takes three times as long, or speed=0.3: works at 0.3 of its speed), stop\n"
               "(refuses connections, breaks those it has, loses their requests), fail (500 at once; /health stays\n"
               "well), hang (accepts, answers nothing; goes on where it was when it heals), reset (closes without\n"
               "an answer), none (heals). seconds=S: it heals by itself. server=NAME, its number, or all.\n"
               "SIGTERM and SIGINT end it.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- what there is ----------------------------------------------------------------------------------------- */

typedef enum fault_kind { FAULT_NONE, FAULT_SLOW, FAULT_STOP, FAULT_FAIL, FAULT_HANG, FAULT_RESET } fault_kind;
static const char *const fault_names[] = { "none", "slow", "stop", "fail", "hang", "reset", NULL };

typedef struct connection connection;
typedef struct server server;

/* A request in a server. Virtual time runs as fast as each active request is worked on, so that a request ends when
   virtual time has grown by its work, whatever happens to the server's speed and its company. */
typedef struct job {
    struct job *next;
    server *at;
    connection *from; /* NULL: whoever asked has gone; the work is done all the same */
    double work_s, end; /* in virtual time */
    uint64_t came_ns, due_ns; /* due: when the answer goes out, once the work is done */
} job;

typedef struct counters {
    uint64_t requests, ok, failed, reset, lost; /* requests = ok + failed + reset + lost + active ones */
} counters;

struct server {
    char name[40];
    int32_t slots, number;
    double speed, work_s;
    uint64_t after_ns;
    rllb_rng rng;

    uv_tcp_t *listener;
    int port;
    connection *connections;

    fault_kind fault;
    double factor; /* of the speed */
    uint64_t heals_ns;

    double virtual_s;
    uint64_t at_ns;     /* when virtual_s was that */
    job **active;       /* heap by end */
    int32_t active_count, active_most, waiting;
    job *first, **last; /* that wait */
    job *aside, **aside_last; /* whose work is done and that are not due yet, in order */
    int32_t aside_count;

    double busy_s, busy_mark_s[2]; /* slot seconds in use, now and at two marks a second or more apart */
    uint64_t mark_ns[2];
    float recent_ms[RECENT];
    uint64_t answered;
    counters count;
};

struct connection {
    uv_tcp_t tcp;
    http_parser parser;
    server *at; /* NULL: the admin port */
    connection *next, *prev;
    job *served;
    bool held;    /* /health of a server that hangs */
    bool sending, paused, ended, closing;

    /* The request that is being read. */
    char target[256];
    size_t target_size;
    px_caught work; /* X-Work */
    bool whole, keep;
    size_t body;

    char *rest; /* what came after it */
    size_t rest_size;
};

typedef struct event { /* of a script, or a request to the admin port */
    double at_s;
    int32_t server; /* -1: all */
    fault_kind kind;
    double speed, seconds;
} event;

static struct {
    uv_loop_t *loop;
    px_alarm alarm;
    uv_signal_t signals[2];
    server *servers, admin; /* of admin only the port is used */
    int32_t count;
    event *events;
    int32_t event_count, event_next;
    uint64_t ends_ns;
    uint64_t zero_ns; /* of the events' times; PX_NEVER: not yet */
    job *done, **done_last, *spare;
    connection *admins;
    char *body;
} all;

/* ---- virtual service --------------------------------------------------------------------------------------- */

/* Work done on each active request in a second. */
static double rate_of(const server *s)
{
    double speed = s->fault == FAULT_HANG ? 0 : s->speed * s->factor;
    return s->active_count > s->slots ? speed * s->slots / s->active_count : speed;
}

static uint64_t next_end_ns(const server *s) /* of an active request's work */
{
    double rate = rate_of(s), wait_ns;

    if (s->active_count == 0 || rate <= 0) return PX_NEVER;
    wait_ns = ceil((s->active[0]->end - s->virtual_s) / rate * 1e9);
    if (!(wait_ns > 0)) return s->at_ns;
    return wait_ns < 1e18 ? s->at_ns + (uint64_t)wait_ns : PX_NEVER;
}

static uint64_t next_due_ns(const server *s)
{
    uint64_t end_ns = next_end_ns(s);
    return s->aside && s->fault != FAULT_HANG && s->aside->due_ns < end_ns ? s->aside->due_ns : end_ns;
}

static void heap_put(server *s, int32_t i, job *j)
{
    for (; i > 0 && s->active[(i - 1) / 2]->end > j->end; i = (i - 1) / 2) s->active[i] = s->active[(i - 1) / 2];
    s->active[i] = j;
}

static void job_start(server *s, job *j)
{
    j->end = s->virtual_s + j->work_s;
    heap_put(s, s->active_count++, j);
}

static job *heap_take(server *s)
{
    job *top = s->active[0], *last = s->active[--s->active_count];
    int32_t i = 0, child;

    while ((child = 2 * i + 1) < s->active_count) {
        if (child + 1 < s->active_count && s->active[child + 1]->end < s->active[child]->end) child++;
        if (s->active[child]->end >= last->end) break;
        s->active[i] = s->active[child];
        i = child;
    }
    s->active[i] = last;
    return top;
}

static job *waiting_take(server *s)
{
    job *j = s->first;

    s->first = j->next;
    if (!s->first) s->last = &s->first;
    s->waiting--;
    return j;
}

static job *aside_take(server *s)
{
    job *j = s->aside;

    s->aside = j->next;
    if (!s->aside) s->aside_last = &s->aside;
    s->aside_count--;
    j->next = NULL;
    return j;
}

static int32_t in_flight(const server *s)
{
    return s->active_count + s->waiting + s->aside_count;
}

static void pass(server *s, uint64_t to_ns)
{
    double seconds = (double)(to_ns - s->at_ns) * 1e-9;

    if (s->active_count > 0) {
        s->virtual_s += seconds * rate_of(s);
        s->busy_s += seconds * (s->active_count < s->slots ? s->active_count : s->slots);
    }
    s->at_ns = to_ns;
    if (to_ns - s->mark_ns[1] >= 1000000000U) {
        s->mark_ns[0] = s->mark_ns[1];
        s->busy_mark_s[0] = s->busy_mark_s[1];
        s->mark_ns[1] = to_ns;
        s->busy_mark_s[1] = s->busy_s;
    }
}

/* Brings a server up to now. Requests that are done are kept for settle, which answers them; each gives its slot to the
   next one at the very moment its work ends, however late this is called. */
static void catch_up(server *s, uint64_t now_ns)
{
    uint64_t end_ns;

    while ((end_ns = next_end_ns(s)) <= now_ns) {
        job *j;
        pass(s, end_ns);
        j = heap_take(s);
        if (s->first) job_start(s, waiting_take(s));
        if (s->active_count == 0) s->virtual_s = 0;
        j->next = NULL;
        j->due_ns = end_ns + s->after_ns;
        *s->aside_last = j;
        s->aside_last = &j->next;
        s->aside_count++;
    }
    if (now_ns > s->at_ns) pass(s, now_ns);
    while (s->aside && s->aside->due_ns <= now_ns && s->fault != FAULT_HANG) {
        job *j = aside_take(s);
        *all.done_last = j;
        all.done_last = &j->next;
    }
}

static double own_work_s(server *s)
{
    return law == LAW_FIXED || s->work_s <= 0 ? s->work_s : rllb_rng_exponential(&s->rng, s->work_s);
}

static job *job_new(server *s, connection *from, double work_s, uint64_t now_ns)
{
    job *j = all.spare;

    if (j) all.spare = j->next;
    else j = malloc(sizeof *j);
    if (!j) return NULL;
    j->next = NULL;
    j->at = s;
    j->from = from;
    j->work_s = work_s;
    j->came_ns = now_ns;
    return j;
}

static void job_free(job *j)
{
    j->next = all.spare;
    all.spare = j;
}

/* ---- connections ------------------------------------------------------------------------------------------- */

static void settle(void);
static void resume(connection *c);

static void on_closed(uv_handle_t *handle)
{
    connection *c = (connection *)handle;
    free(c->rest);
    free(c);
}

static void leave_lists(connection *c)
{
    connection **head = c->at ? &c->at->connections : &all.admins;

    if (c->prev) c->prev->next = c->next;
    else *head = c->next;
    if (c->next) c->next->prev = c->prev;
    if (c->served) c->served->from = NULL;
    c->served = NULL;
}

static void connection_close(connection *c, bool reset)
{
    if (c->closing) return;
    c->closing = true;
    leave_lists(c);
    if (!reset || uv_tcp_close_reset(&c->tcp, on_closed) != 0) {
        if (!uv_is_closing((uv_handle_t *)&c->tcp)) uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

static void on_sent(uv_stream_t *stream, int status)
{
    connection *c = (connection *)stream;

    if (c->closing) return;
    c->sending = false;
    if (status < 0 || !c->keep) {
        connection_close(c, false);
        return;
    }
    resume(c);
    settle();
}

static const char *status_text(int status)
{
    static const char *const known[] = { "OK", "Bad Request", "Not Found", "Method Not Allowed", "Payload Too Large",
                                         "Internal Server Error", "Service Unavailable" };
    static const int codes[] = { 200, 400, 404, 405, 413, 500, 503 };
    size_t i;

    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == status) return known[i];
    }
    return "Unknown";
}

static void answer(connection *c, int status, const char *type, const char *body, size_t size)
{
    static char text[8192];
    bool bare = c->parser.method == HTTP_HEAD;
    uv_buf_t parts[2];
    unsigned count = 1;
    int wrote, sent;

    wrote = snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\n%s%s%sContent-Length: %zu\r\n", status, status_text(status),
                     type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "", size);
    if (c->at) {
        wrote += snprintf(text + wrote, sizeof text - (size_t)wrote, "X-Server: %s\r\nX-Active: %ld\r\n", c->at->name,
                          (long)in_flight(c->at));
    }
    if (!c->keep) wrote += snprintf(text + wrote, sizeof text - (size_t)wrote, "Connection: close\r\n");
    else if (c->parser.http_minor == 0) {
        wrote += snprintf(text + wrote, sizeof text - (size_t)wrote, "Connection: keep-alive\r\n");
    }
    wrote += snprintf(text + wrote, sizeof text - (size_t)wrote, "\r\n");
    parts[0] = uv_buf_init(text, (unsigned)wrote);
    if (!bare && size > 0 && size <= sizeof text - (size_t)wrote) {
        memcpy(text + wrote, body, size);
        parts[0].len += size;
    } else if (!bare && size > 0) {
        parts[1].base = (char *)(uintptr_t)body;
        parts[1].len = size;
        count = 2;
    }
    sent = px_send((uv_stream_t *)&c->tcp, parts, count, on_sent);
    if (sent == 1) c->sending = true;
    else if (sent < 0 || !c->keep) connection_close(c, false);
}

static void answer_line(connection *c, int status, const char *format, ...) EX_PRINTF(3, 4);
static void answer_line(connection *c, int status, const char *format, ...)
{
    char line[256];
    va_list values;
    int wrote;

    va_start(values, format);
    wrote = vsnprintf(line, sizeof line - 1, format, values);
    va_end(values);
    if (wrote < 0) wrote = 0;
    if ((size_t)wrote > sizeof line - 2) wrote = (int)sizeof line - 2;
    line[wrote] = '\n';
    answer(c, status, "text/plain", line, (size_t)wrote + 1);
}

/* ---- serving ----------------------------------------------------------------------------------------------- */

static void answer_work(connection *c, server *s, uint64_t came_ns, uint64_t now_ns)
{
    s->recent_ms[s->answered++ % RECENT] = (float)((double)(now_ns - came_ns) * 1e-6);
    s->count.ok++;
    answer(c, 200, NULL, all.body, (size_t)answer_bytes);
}

/* Answers all that has ended, and what follows from that, and has the alarm set for the next end. */
static void settle(void)
{
    static bool inside; /* whoever is answered may ask again at once, and end at once */
    job *j;

    if (inside) return;
    inside = true;
    while ((j = all.done) != NULL) {
        server *s = j->at;
        connection *c = j->from;
        all.done = j->next;
        if (!all.done) all.done_last = &all.done;
        if (c) {
            c->served = NULL;
            answer_work(c, s, j->came_ns, uv_hrtime());
            if (!c->closing) resume(c);
        } else {
            s->count.ok++;
        }
        job_free(j);
        px_alarm_set(&all.alarm, next_due_ns(s));
    }
    inside = false;
}

static void serve_work(connection *c, server *s)
{
    double work_s = c->work.found ? 0 : own_work_s(s);
    uint64_t now_ns = uv_hrtime();
    job *j;

    if (c->work.found && (!ex_parse_double(px_caught_text(&c->work), &work_s) || work_s < 0 || work_s > 1e7)) {
        s->count.failed++;
        answer_line(c, 400, "X-Work is not a number of milliseconds");
        return;
    }
    if (c->work.found) work_s *= 1e-3;
    catch_up(s, now_ns);
    if (work_s <= 0 && s->after_ns == 0 && s->active_count < s->slots && s->fault != FAULT_HANG) {
        answer_work(c, s, now_ns, now_ns);
        return;
    }
    if (s->active_count >= s->active_most && s->waiting >= waiting_most && s->fault != FAULT_HANG) {
        s->count.failed++;
        answer_line(c, 503, "%s: %d requests wait", s->name, (int)s->waiting);
        return;
    }
    j = job_new(s, c, work_s, now_ns);
    if (!j) {
        s->count.failed++;
        answer_line(c, 503, "%s: not enough memory", s->name);
        return;
    }
    c->served = j;
    if (s->active_count < s->active_most) {
        job_start(s, j);
    } else {
        *s->last = j;
        s->last = &j->next;
        s->waiting++;
    }
    px_alarm_set(&all.alarm, next_due_ns(s));
}

static double response_ms(const server *s)
{
    uint64_t n = s->answered < RECENT ? s->answered : RECENT, i;
    double sum = 0;

    for (i = 0; i < n; i++) sum += (double)s->recent_ms[i];
    return n > 0 ? sum / (double)n : 0;
}

static double cpu_percent(const server *s)
{
    double seconds = (double)(s->at_ns - s->mark_ns[0]) * 1e-9;
    return seconds > 0 ? 100 * (s->busy_s - s->busy_mark_s[0]) / (seconds * s->slots) : 0;
}

static void health_json(ex_json *j, server *s)
{
    double cpu, ms = response_ms(s);
    int32_t active;

    catch_up(s, uv_hrtime());
    active = in_flight(s);
    cpu = cpu_percent(s);
    ex_json_row(j, NULL);
    ex_json_string(j, "server", s->name);
    ex_json_string(j, "status", cpu > 80 || active > 20 || ms > 500 ? "unhealthy"
                                : cpu > 50 || active > 10 || ms > 200 ? "degraded" : "healthy");
    ex_json_double(j, "cpu", round(cpu * 100) / 100);
    ex_json_int(j, "active_requests", active);
    ex_json_double(j, "avg_response_time", round(ms * 1000) / 1000);
    ex_json_int(j, "waiting", s->waiting);
    ex_json_int(j, "slots", s->slots);
    ex_json_string(j, "fault", fault_names[s->fault]);
    ex_json_uint(j, "requests", s->count.requests);
    ex_json_uint(j, "ok", s->count.ok);
    ex_json_uint(j, "failed", s->count.failed);
    ex_json_uint(j, "reset", s->count.reset);
    ex_json_uint(j, "lost", s->count.lost);
    ex_json_end(j);
}

static void serve_health(connection *c)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;

    if (c->at) {
        health_json(&j, c->at);
    } else {
        ex_json_array(&j, NULL);
        for (i = 0; i < all.count; i++) health_json(&j, &all.servers[i]);
        ex_json_end(&j);
    }
    ex_text_add(&text, "\n", 1);
    if (text.failed) answer_line(c, 503, "not enough memory");
    else answer(c, 200, "application/json", text.data, text.size);
    ex_text_free(&text);
}

/* ---- faults ------------------------------------------------------------------------------------------------ */

static int32_t server_called(const char *text)
{
    int64_t number;
    int32_t i;

    for (i = 0; i < all.count; i++) {
        if (strcmp(all.servers[i].name, text) == 0) return i;
    }
    return ex_parse_int64(text, &number) && number >= 0 && number < all.count ? (int32_t)number : -1;
}

static bool fault_field(event *e, const char *key, const char *value, char why[160])
{
    double number = 0;
    bool numeric = ex_parse_double(value, &number);
    int32_t i;

    if (strcmp(key, "kind") == 0) {
        for (i = 0; fault_names[i]; i++) {
            if (strcmp(fault_names[i], value) == 0) e->kind = (fault_kind)i;
        }
        if (strcmp(fault_names[e->kind], value) == 0) return true;
        snprintf(why, 160, "no fault is called '%.40s'; there are slow, stop, fail, hang, reset, none", value);
    } else if (strcmp(key, "server") == 0) {
        e->server = strcmp(value, "all") == 0 ? -1 : server_called(value);
        if (e->server >= 0 || strcmp(value, "all") == 0) return true;
        snprintf(why, 160, "there is no server '%.40s'", value);
    } else if (strcmp(key, "factor") == 0) {
        e->speed = 1 / number;
        if (numeric && number >= 1 && number <= 1e6) return true;
        snprintf(why, 160, "factor is how many times as long it takes, at least 1, not '%.40s'; speed=0.3 is the other "
                 "way to say it", value);
    } else if (strcmp(key, "speed") == 0) {
        e->speed = number;
        if (numeric && number >= 1e-6 && number <= 1e6) return true;
        snprintf(why, 160, "speed is a share of the server's own, above 0, not '%.40s'", value);
    } else if (strcmp(key, "seconds") == 0 || strcmp(key, "t") == 0) {
        *(*key == 't' ? &e->at_s : &e->seconds) = number;
        if (numeric && number >= 0 && number <= 1e8) return true;
        snprintf(why, 160, "%s is a number of seconds, not '%.40s'", key, value);
    } else {
        snprintf(why, 160, "'%.40s' is not known; there are kind, server, factor, speed, seconds, t", key);
    }
    return false;
}

/* Fields of the form key=value, apart by '&' or blanks. `e` holds what they are by default. */
static bool fault_parse(event *e, const char *text, size_t size, char why[160])
{
    char field[80], *value;
    size_t at = 0, length;
    bool named = false;

    e->kind = FAULT_NONE;
    e->speed = 1;
    e->seconds = HUGE_VAL;
    while (at < size) {
        for (length = 0; at + length < size && !strchr("& \t\r", text[at + length]); length++) {}
        if (length > 0) {
            snprintf(field, sizeof field, "%.*s", (int)(length < sizeof field ? length : sizeof field - 1), text + at);
            value = strchr(field, '=');
            if (!value) {
                snprintf(why, 160, "'%.40s' is not of the form key=value", field);
                return false;
            }
            *value++ = '\0';
            if (!fault_field(e, field, value, why)) return false;
            named = named || strcmp(field, "kind") == 0;
        }
        at += length + 1;
    }
    if (!named) snprintf(why, 160, "kind= is missing");
    else if (e->kind == FAULT_SLOW && e->speed == 1) {
        snprintf(why, 160, "slow wants factor= or speed=");
        return false;
    }
    return named;
}

static void on_connection(uv_stream_t *listener, int status);

/* A socket with the port, which refuses connections until it listens. */
static bool server_bind(server *s)
{
    struct sockaddr_storage address;
    int error = uv_ip4_addr(host, s->port, (struct sockaddr_in *)&address), size = sizeof address;

    if (error < 0) uv_ip6_addr(host, s->port, (struct sockaddr_in6 *)&address);
    s->listener = malloc(sizeof *s->listener);
    if (!s->listener) return ex_fail("not enough memory") == EX_OK;
    uv_tcp_init(all.loop, s->listener);
    s->listener->data = s;
    error = uv_tcp_bind(s->listener, (struct sockaddr *)&address, 0);
    if (error == 0) error = uv_tcp_getsockname(s->listener, (struct sockaddr *)&address, &size);
    if (error < 0) return ex_fail("%s:%d: %s", host, s->port, uv_strerror(error)) == EX_OK;
    s->port = address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&address)->sin_port)
                                           : ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return true;
}

static void server_listen(server *s)
{
    int error = uv_listen((uv_stream_t *)s->listener, 1024, on_connection);
    if (error < 0) ex_warn("%s cannot listen on port %d again: %s", s->name, s->port, uv_strerror(error));
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle);
}

static void lose(server *s, job *j)
{
    s->count.lost++;
    if (j->from) j->from->served = NULL;
    job_free(j);
}

/* Nothing of it is left but the port, and the connection that asked for it, which is told so yet. */
static void server_stop(server *s, connection *asked)
{
    connection *c, *next;

    while (s->active_count > 0) lose(s, s->active[--s->active_count]);
    while (s->first) lose(s, waiting_take(s));
    while (s->aside) lose(s, aside_take(s));
    s->virtual_s = 0;
    for (c = s->connections; c; c = next) {
        next = c->next;
        if (c != asked) connection_close(c, true);
    }
    uv_close((uv_handle_t *)s->listener, on_listener_closed);
    server_bind(s);
}

static void server_fault(server *s, const event *e, connection *asked, uint64_t now_ns)
{
    fault_kind before = s->fault;
    connection *c, *next;

    catch_up(s, now_ns);
    s->fault = e->kind;
    s->factor = e->kind == FAULT_SLOW ? e->speed : 1;
    s->heals_ns = isfinite(e->seconds) && e->kind != FAULT_NONE ? now_ns + (uint64_t)(e->seconds * 1e9) : PX_NEVER;
    if (s->fault == FAULT_STOP && before != FAULT_STOP) server_stop(s, asked);
    if (s->fault != FAULT_STOP && before == FAULT_STOP) server_listen(s);
    for (c = s->connections; c && s->fault != FAULT_HANG; c = next) {
        next = c->next;
        if (!c->held) continue;
        c->held = false;
        serve_health(c);
        if (!c->closing) resume(c);
    }
    px_alarm_set(&all.alarm, s->heals_ns);
    px_alarm_set(&all.alarm, next_due_ns(s));
}

static void fault_apply(const event *e, connection *asked)
{
    uint64_t now_ns = uv_hrtime();
    int32_t i;

    for (i = 0; i < all.count; i++) {
        if (e->server < 0 || e->server == i) server_fault(&all.servers[i], e, asked, now_ns);
    }
}

static void serve_fault(connection *c, const char *query)
{
    event e = { 0 };
    char why[160];

    e.server = c->at ? c->at->number : -1;
    if (c->parser.method != HTTP_POST) {
        answer_line(c, 405, "POST it");
    } else if (!fault_parse(&e, query, strlen(query), why)) {
        answer_line(c, 400, "%s", why);
    } else {
        if (e.kind == FAULT_STOP && c->at && (e.server < 0 || e.server == c->at->number)) c->keep = false;
        fault_apply(&e, c); /* before it is told: who is told may come back at once */
        answer_line(c, 200, "%s: %s", e.server < 0 ? "all" : all.servers[e.server].name, fault_names[e.kind]);
    }
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static void events_run(uint64_t now_ns);

static void serve_request(connection *c, server *s)
{
    if (all.zero_ns == PX_NEVER) {
        all.zero_ns = uv_hrtime();
        events_run(all.zero_ns);
        if (c->closing) return;
    }
    s->count.requests++;
    if (s->fault == FAULT_RESET) {
        s->count.reset++;
        connection_close(c, true);
    } else if (s->fault == FAULT_FAIL) {
        s->count.failed++;
        answer_line(c, 500, "%s fails, as it was told to", s->name);
    } else {
        serve_work(c, s);
    }
}

static void serve(connection *c)
{
    server *s = c->at;
    char *query = strchr(c->target, '?');

    if (query) *query++ = '\0';
    if (strcmp(c->target, "/fault") == 0) {
        serve_fault(c, query ? query : "");
    } else if (!s) {
        if (strcmp(c->target, "/health") == 0) serve_health(c);
        else answer_line(c, 404, "there are /health and /fault");
    } else if (strcmp(c->target, "/health") == 0) {
        if (s->fault == FAULT_RESET) connection_close(c, true);
        else if (s->fault == FAULT_HANG) c->held = true;
        else serve_health(c);
    } else {
        serve_request(c, s);
    }
}

static int on_begin(http_parser *p)
{
    connection *c = p->data;

    c->target_size = c->body = 0;
    c->target[0] = '\0';
    c->whole = false;
    px_caught_begin(&c->work);
    return 0;
}

/* What does not fit is left out: no target that matters is that long. */
static int on_target(http_parser *p, const char *at, size_t size)
{
    connection *c = p->data;

    if (size > sizeof c->target - 1 - c->target_size) size = sizeof c->target - 1 - c->target_size;
    memcpy(c->target + c->target_size, at, size);
    c->target_size += size;
    c->target[c->target_size] = '\0';
    return 0;
}

static int on_name(http_parser *p, const char *at, size_t size)
{
    px_caught_name(&((connection *)p->data)->work, "x-work", at, size);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t size)
{
    px_caught_value(&((connection *)p->data)->work, "x-work", at, size);
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t size)
{
    connection *c = p->data;

    (void)at;
    c->body += size;
    return c->body > BODY_MOST;
}

/* The parser stops here: what follows is another request, which waits its turn. */
static int on_whole(http_parser *p)
{
    connection *c = p->data;

    c->whole = true;
    c->keep = http_should_keep_alive(p) != 0;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings callbacks = {
    .on_message_begin = on_begin,
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

static bool waits(const connection *c)
{
    return c->served || c->held || c->sending;
}

static void keep_rest(connection *c, const char *bytes, size_t size)
{
    char *grown;

    if (size == 0) return;
    grown = realloc(c->rest, c->rest_size + size);
    if (!grown) {
        connection_close(c, true);
        return;
    }
    memcpy(grown + c->rest_size, bytes, size);
    c->rest = grown;
    c->rest_size += size;
    if (c->rest_size > REST_MOST && !c->paused) {
        c->paused = true;
        uv_read_stop((uv_stream_t *)&c->tcp);
    }
}

/* Serves one request after the other, until one has to wait. */
static void feed(connection *c, const char *bytes, size_t size)
{
    while (size > 0 && !c->closing && !waits(c)) {
        size_t used = http_parser_execute(&c->parser, &callbacks, bytes, size);
        bytes += used;
        size -= used;
        if (c->whole) {
            c->whole = false;
            http_parser_pause(&c->parser, 0);
            serve(c);
        } else if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK || c->parser.upgrade) {
            c->keep = false;
            answer_line(c, c->body > BODY_MOST ? 413 : 400, "%s",
                        http_errno_description(HTTP_PARSER_ERRNO(&c->parser)));
            return;
        }
    }
    if (!c->closing) keep_rest(c, bytes, size);
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char room[65536]; /* all that is read is used up or copied before the next read */

    (void)handle;
    (void)suggested;
    *out = uv_buf_init(room, sizeof room);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *bytes)
{
    connection *c = (connection *)stream;

    if (c->closing) return;
    if (size > 0) {
        if (waits(c)) keep_rest(c, bytes->base, (size_t)size);
        else feed(c, bytes->base, (size_t)size);
        settle();
    } else if (size == UV_EOF && waits(c) && !(c->at && c->at->fault == FAULT_HANG)) {
        c->ended = true; /* the answer still goes out: whoever asked may have closed its own side only */
    } else if (size < 0) {
        connection_close(c, false);
    }
}

/* After an answer. */
static void resume(connection *c)
{
    char *rest = c->rest;
    size_t size = c->rest_size;

    if (c->closing || waits(c)) return;
    c->rest = NULL;
    c->rest_size = 0;
    feed(c, rest, size);
    free(rest);
    if (c->closing || waits(c)) return;
    if (c->ended) {
        connection_close(c, false);
    } else if (c->paused) {
        c->paused = false;
        uv_read_start((uv_stream_t *)&c->tcp, allocate, on_read);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    connection *c, **head;

    if (status < 0) return;
    c = calloc(1, sizeof *c);
    if (!c) return;
    c->at = listener->data;
    uv_tcp_init(all.loop, &c->tcp);
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    head = c->at ? &c->at->connections : &all.admins;
    c->next = *head;
    if (*head) (*head)->prev = c;
    *head = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || uv_tcp_nodelay(&c->tcp, 1) < 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, allocate, on_read) < 0) {
        connection_close(c, false);
    }
}

/* ---- the alarm: ends, events, healing ---------------------------------------------------------------------- */

static void events_run(uint64_t now_ns)
{
    double now_s;

    if (all.zero_ns == PX_NEVER || all.event_next == all.event_count) return;
    now_s = (double)(now_ns - all.zero_ns) * 1e-9;
    while (all.event_next < all.event_count && all.events[all.event_next].at_s <= now_s) {
        fault_apply(&all.events[all.event_next++], NULL);
    }
    if (all.event_next < all.event_count) {
        px_alarm_set(&all.alarm, all.zero_ns + (uint64_t)ceil(all.events[all.event_next].at_s * 1e9));
    }
}

static void on_alarm(void *self)
{
    static const event heal = { .kind = FAULT_NONE, .speed = 1, .seconds = HUGE_VAL };
    uint64_t now_ns = uv_hrtime();
    int32_t i;

    (void)self;
    if (all.ends_ns <= now_ns) uv_stop(all.loop);
    for (i = 0; i < all.count; i++) {
        server *s = &all.servers[i];
        catch_up(s, now_ns);
        if (s->heals_ns <= now_ns) server_fault(s, &heal, NULL, now_ns);
    }
    events_run(now_ns);
    settle();
    px_alarm_set(&all.alarm, all.ends_ns);
    for (i = 0; i < all.count; i++) {
        px_alarm_set(&all.alarm, next_due_ns(&all.servers[i]));
        px_alarm_set(&all.alarm, all.servers[i].heals_ns);
    }
}

/* ---- setting up -------------------------------------------------------------------------------------------- */

/* One [COUNTx]SLOTS[@SPEED]: that many servers more. */
static int servers_add(const char *text)
{
    char part[64], *slots, *speed;
    int64_t count = 1, slot_count = 0;
    double value = 1;
    server *grown;

    snprintf(part, sizeof part, "%s", text);
    speed = strchr(part, '@');
    if (speed) *speed++ = '\0';
    slots = strchr(part, 'x');
    if (slots) *slots++ = '\0';
    if ((slots && !ex_parse_int64(part, &count)) || !ex_parse_int64(slots ? slots : part, &slot_count) ||
        (speed && !ex_parse_double(speed, &value)) || count < 1 || slot_count < 1 || slot_count > 100000 ||
        value < 1e-6 || value > 1e6) {
        return ex_usage("servers", "'%.60s' is not [COUNTx]SLOTS[@SPEED]", text);
    }
    if (count > SERVERS_MOST - all.count) return ex_usage("servers", "more than %d servers", SERVERS_MOST);
    grown = realloc(all.servers, (size_t)(all.count + count) * sizeof *grown);
    if (!grown) return ex_fail("not enough memory");
    all.servers = grown;
    memset(grown + all.count, 0, (size_t)count * sizeof *grown);
    for (; count > 0; count--, all.count++) {
        all.servers[all.count].slots = (int32_t)slot_count;
        all.servers[all.count].speed = value;
        all.servers[all.count].number = all.count;
        snprintf(all.servers[all.count].name, sizeof all.servers->name, "%.30s%d", name_text, (int)all.count);
    }
    return EX_GO_ON;
}

static int servers_parse(void)
{
    const char *at = servers_text;
    char part[64];
    int status = EX_GO_ON;

    if (!at) {
        snprintf(part, sizeof part, "%dx64", delays_ms.count > 0 ? (int)delays_ms.count : 1);
        return servers_add(part);
    }
    while (at && status == EX_GO_ON) {
        size_t length = strcspn(at, ",");
        snprintf(part, sizeof part, "%.*s", (int)(length < sizeof part ? length : sizeof part - 1), at);
        at = at[length] ? at + length + 1 : NULL;
        status = servers_add(part);
    }
    return status;
}

static bool server_open(server *s)
{
    int32_t number = s->number;

    s->factor = 1;
    s->heals_ns = PX_NEVER;
    s->at_ns = s->mark_ns[0] = s->mark_ns[1] = uv_hrtime();
    s->last = &s->first;
    s->aside_last = &s->aside;
    s->work_s = delays_ms.count > 0 ? delays_ms.values[number % delays_ms.count] * 1e-3 : 0;
    s->after_ns = after_ms.count > 0 ? (uint64_t)(after_ms.values[number % after_ms.count] * 1e6) : 0;
    rllb_rng_init(&s->rng, seed, (uint64_t)number);
    s->active_most = s->slots;
    if (sharing) s->active_most = active_most > 0 ? active_most : s->slots > SHARED_ACTIVE ? s->slots : SHARED_ACTIVE;
    if (s->active_most < s->slots) s->active_most = s->slots;
    s->active = malloc((size_t)s->active_most * sizeof(job *));
    if (!s->active) return ex_fail("not enough memory") == EX_OK;
    s->port = port > 0 ? port + number : 0;
    return server_bind(s);
}

/* One event into all.events; which are in order of time, and of the text where times are equal. */
static bool event_add(const char *text, size_t size, char why[160])
{
    event e = { .server = -1 };
    int32_t i;

    if (all.event_count == EVENTS_MOST) {
        snprintf(why, 160, "more than %d events", EVENTS_MOST);
        return false;
    }
    if (!fault_parse(&e, text, size, why)) return false;
    for (i = all.event_count++; i > 0 && all.events[i - 1].at_s > e.at_s; i--) all.events[i] = all.events[i - 1];
    all.events[i] = e;
    return true;
}

static int events_parse(void)
{
    const char *at = fault_text;
    char why[160];

    while (at) {
        size_t length = strcspn(at, ",");
        if (!event_add(at, length, why)) return ex_usage("fault", "%s", why);
        at = at[length] ? at + length + 1 : NULL;
    }
    return EX_GO_ON;
}

static int script_parse(void)
{
    ex_text text = { 0 };
    char why[160];
    const char *at;
    int line = 0;
    int status = EX_GO_ON;

    if (!script_path) return EX_GO_ON;
    if (!ex_file_read(script_path, 1 << 20, &text)) return EX_FAILED;
    for (at = text.data; at && status == EX_GO_ON; line++) {
        size_t length = strcspn(at, "\n"), used = strcspn(at, "#\n"), blank = strspn(at, " \t\r");
        if (blank < used && !event_add(at, used, why)) status = ex_fail("%s:%d: %s", script_path, line + 1, why);
        at = at[length] ? at + length + 1 : NULL;
    }
    ex_text_free(&text);
    return status;
}

static int ports_check(void)
{
    struct sockaddr_storage address;

    if (uv_ip4_addr(host, 0, (struct sockaddr_in *)&address) < 0 &&
        uv_ip6_addr(host, 0, (struct sockaddr_in6 *)&address) < 0) {
        return ex_usage("host", "'%.60s' is not an address", host);
    }
    if (port > 0 && port + all.count - 1 > 65535) {
        return ex_usage("port", "%d and the %d behind it", (int)port, (int)all.count - 1);
    }
    return EX_GO_ON;
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    uv_stop(all.loop);
}

static void announce(void)
{
    const char *open = strchr(host, ':') ? "[" : "", *shut = *open ? "]" : "";
    int32_t i;

    for (i = 0; i < all.count; i++) {
        printf("server %s %s%s%s:%d\n", all.servers[i].name, open, host, shut, all.servers[i].port);
    }
    printf("admin %s%s%s:%d\nready\n", open, host, shut, all.admin.port);
    fflush(stdout);
}

static bool listen_all(void)
{
    int32_t i;
    int error = 0;

    for (i = 0; i < all.count && error == 0; i++) {
        if (!server_open(&all.servers[i])) return false;
    }
    all.admin.port = admin_port;
    if (!server_bind(&all.admin)) return false;
    all.admin.listener->data = NULL;
    for (i = 0; i < all.count && error == 0; i++) {
        error = uv_listen((uv_stream_t *)all.servers[i].listener, 1024, on_connection);
    }
    if (error < 0) return ex_fail("port %d: %s", all.servers[i - 1].port, uv_strerror(error)) == EX_OK;
    error = uv_listen((uv_stream_t *)all.admin.listener, 64, on_connection);
    if (error < 0) return ex_fail("port %d: %s", all.admin.port, uv_strerror(error)) == EX_OK;
    announce();
    return true;
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
    if (!px_alarm_open(&all.alarm, all.loop, on_alarm, NULL)) return EX_FAILED;
    if (!listen_all()) return EX_FAILED;
    all.zero_ns = faults_from == FROM_START ? uv_hrtime() : PX_NEVER;
    all.ends_ns = run_s > 0 ? uv_hrtime() + (uint64_t)(run_s * 1e9) : PX_NEVER;
    px_alarm_set(&all.alarm, 0); /* events at once, and the first alarm */
    uv_run(all.loop, UV_RUN_DEFAULT);
    return EX_OK;
}

static void close_server(server *s, connection **connections)
{
    while (*connections) connection_close(*connections, false);
    while (s->active_count > 0) job_free(s->active[--s->active_count]);
    while (s->first) job_free(waiting_take(s));
    while (s->aside) job_free(aside_take(s));
    if (s->listener) uv_close((uv_handle_t *)s->listener, on_listener_closed);
    free(s->active);
}

static void close_all(void)
{
    int32_t i;

    for (i = 0; i < all.count; i++) close_server(&all.servers[i], &all.servers[i].connections);
    close_server(&all.admin, &all.admins);
    for (i = 0; i < 2; i++) uv_close((uv_handle_t *)&all.signals[i], NULL);
    px_alarm_close(&all.alarm);
    uv_run(all.loop, UV_RUN_DEFAULT);
    uv_loop_close(all.loop);
    while (all.spare) {
        job *next = all.spare->next;
        free(all.spare);
        all.spare = next;
    }
    free(all.servers);
    free(all.events);
    free(all.body);
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    if (waiting_most < 0) waiting_most = sharing ? SHARED_WAITING : 100000;
    if (active_most > 0 && !sharing) return ex_usage("active", "has no use without --sharing");
    all.loop = uv_default_loop();
    all.done_last = &all.done;
    all.events = malloc(EVENTS_MOST * sizeof *all.events);
    all.body = malloc((size_t)answer_bytes + 1);
    if (!all.events || !all.body) return ex_fail("not enough memory");
    memset(all.body, 'x', (size_t)answer_bytes);
    if (answer_bytes > 0) all.body[answer_bytes - 1] = '\n';
    status = servers_parse();
    if (status == EX_GO_ON) status = ports_check();
    if (status == EX_GO_ON) status = events_parse();
    if (status == EX_GO_ON) status = script_parse();
    if (status == EX_GO_ON) {
        status = run();
        close_all();
    }
    return status;
}
