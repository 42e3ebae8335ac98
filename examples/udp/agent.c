/* agent.c - tells the database how busy this host is

   Reads /proc/stat, /proc/meminfo and /proc/net/dev once a second and writes what Telegraf's inputs cpu, mem and net
   would: same measurements, tags, fields and types, so that one can take the other's place. To InfluxDB 1.x or 2.x
   over HTTP, or as datagrams. While the database is away lines wait, so many at most; the oldest go first, and every
   line is counted. How to run it: docs/udp.md.

   One process, one thread. Nothing here waits for the database: a sample is late only if the host is. */

#include "agent.h"
#include "terminal.h"
#include "udp.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#define HAS_PROC true
#else
#define HAS_PROC false
#endif

enum { FILE_MOST = 1 << 20, DATAGRAM_MOST = 1400, DATAGRAMS_AT_ONCE = 16, BODY_MOST = 1 << 20 };
#define REST_S 0.2    /* a signal is seen after that at the latest */
#define PACE_S 0.01   /* while the end waits for the last try */
#define HEAR_S 0.1    /* after datagrams: so long for word that nobody listens */
#define STATUS_S 1.0
#define LAST_S 2.0    /* for what still waits at the end */

typedef struct settings {
    const char *to, *org, *bucket, *token, *host, *interface, *proc, *sys, *status;
    double interval_s, timeout_s, for_s;
    int32_t buffer, batch, used;
    bool percpu, create;
    uint64_t seed;
} settings;

/* Files that could not be read, or were something else. */
typedef enum source { STAT, MEMINFO, NET_DEV, SOURCES } source;

typedef struct agent {
    settings set;
    char host[UA_HOST_MOST];
    char token[600];
    ua_target target;
    ua_queue queue;
    ua_sender sender;
    ud_web *web;
    ex_text body;          /* of the request that waits for its database to be made */
    bool create_due;
    int udp_fd;
    ua_stat stat[2];
    int32_t now_stat;      /* which is the last sample's */
    bool stat_known;
    ua_memory memory;
    ua_net net;
    bool bad[SOURCES];     /* and that was said */
    uint64_t samples, missed, bad_reads;
    double sample_s, status_s;
    double heard_s;        /* datagrams are under way: when it is known whether anybody listened */
    bool status_bad, failed;
} agent;

static volatile sig_atomic_t ending, tell_now;

static void on_signal(int number)
{
    if (number == SIGUSR1) tell_now = 1;
    else ending = 1;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* What is there now, up to `most` bytes: files of /proc have no size of their own, and what counts stands first. */
static bool slurp(const char *path, char *out, size_t most, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    ssize_t n = 1;

    *size = 0;
    if (fd < 0) return false;
    while (*size < most && n > 0) {
        n = read(fd, out + *size, most - *size);
        if (n < 0) error = errno;
        if (n > 0) *size += (size_t)n;
    }
    close(fd);
    errno = error;
    return error == 0;
}

/* Said once, until it goes well again. */
static bool report(agent *a, source which, const char *path, const char *why, bool ok)
{
    if (!ok) a->bad_reads++;
    if (!ok && !a->bad[which]) ex_warn("%s: %s; going on without", path, why);
    if (ok && a->bad[which]) fprintf(stderr, "%s: %s can be read again\n", ex_program_name(), path);
    a->bad[which] = !ok;
    return ok;
}

static bool read_source(agent *a, source which)
{
    static const char *const names[SOURCES] = { "stat", "meminfo", "net/dev" };
    static char text[FILE_MOST];
    char path[1024], why[UA_WORDS_MOST];
    ua_stat *stat_to = &a->stat[!a->now_stat];
    size_t size;
    bool ok;

    snprintf(path, sizeof path, "%s/%s", a->set.proc, names[which]);
    if (!slurp(path, text, sizeof text, &size)) return report(a, which, path, strerror(errno), false);
    switch (which) {
    case STAT: ok = ua_stat_read(text, size, stat_to, why); break;
    case MEMINFO: ok = ua_memory_read(text, size, &a->memory, why); break;
    default: ok = ua_net_read(text, size, &a->net, why); break;
    }
    return report(a, which, path, why, ok);
}

static bool matches(const char *patterns, const char *name)
{
    char one[64];
    size_t n;

    for (; *patterns; patterns += n + (patterns[n] == ',')) {
        n = strcspn(patterns, ",");
        if (n == 0 || n >= sizeof one) continue;
        memcpy(one, patterns, n);
        one[n] = '\0';
        if (fnmatch(one, name, 0) == 0) return true;
    }
    return false;
}

/* As Telegraf: those asked for, or else all that are up and not the loopback. */
static bool is_wanted(const agent *a, const char *name)
{
    char path[1024], text[32];
    size_t size;

    if (a->set.interface) return matches(a->set.interface, name);
    snprintf(path, sizeof path, "%s/class/net/%s/flags", a->set.sys, name);
    if (!slurp(path, text, sizeof text, &size)) return strcmp(name, "lo") != 0;
    return ua_flags_up(text, size);
}

static void add(agent *a, const char *line, size_t size)
{
    if (size > 0) ua_queue_add(&a->queue, line, size);
}

static void sample_cpus(agent *a, int64_t at_ns)
{
    const ua_stat *before = &a->stat[a->now_stat], *now = &a->stat[!a->now_stat];
    char line[UA_LINE_MOST];
    int32_t i, k = 0;

    if (a->stat_known) add(a, line, ua_line_cpu(a->host, &before->all, &now->all, at_ns, line));
    for (i = 0; i < now->count && a->set.percpu && a->stat_known; i++) {
        while (k < before->count && before->cpu[k].number < now->cpu[i].number) k++;
        if (k == before->count) break;
        add(a, line, ua_line_cpu(a->host, &before->cpu[k], &now->cpu[i], at_ns, line));
    }
    a->now_stat = !a->now_stat;
    a->stat_known = true;
}

static void sample(agent *a)
{
    char line[UA_LINE_MOST];
    struct timespec t;
    int64_t at_ns;
    int32_t i;

    clock_gettime(CLOCK_REALTIME, &t);
    at_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    a->samples++;
    if (read_source(a, STAT)) sample_cpus(a, at_ns);
    if (read_source(a, MEMINFO)) {
        add(a, line, ua_line_memory(a->host, &a->memory, (ua_used)a->set.used, at_ns, line));
    }
    if (!read_source(a, NET_DEV)) return;
    for (i = 0; i < a->net.count; i++) {
        if (is_wanted(a, a->net.nic[i].name)) add(a, line, ua_line_nic(a->host, &a->net.nic[i], at_ns, line));
    }
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static void answer(agent *a, int32_t status, const char *words)
{
    ua_sender_answer(&a->sender, status, words, strlen(words), "", ex_clock_s());
}

static void on_answer(void *user, const ud_answer *w)
{
    agent *a = user;

    if (w->status == 404) a->create_due = a->set.create && a->target.create[0];
    ua_sender_answer(&a->sender, w->status, w->text ? w->text : "", w->text ? w->size : 0, w->header, ex_clock_s());
}

static void post(agent *a, const char *url, const char *type, const char *body, ud_web_fn fn)
{
    const char *headers[] = { type, NULL, NULL };

    if (a->target.authorization[0]) headers[1] = a->target.authorization;
    if (!ud_web_ask(a->web, url, headers, body, "Retry-After", a->set.timeout_s, fn, a)) {
        answer(a, 0, "not enough memory");
    }
}

static void post_lines(agent *a)
{
    post(a, a->target.url, "Content-Type: text/plain; charset=utf-8", a->body.data, on_answer);
    ex_text_free(&a->body);
}

/* Who may write need not have the right to make databases: then the answer to the lines tells. */
static void on_created(void *user, const ud_answer *w)
{
    agent *a = user;

    if (w->status < 200 || w->status >= 500) {
        ex_text_free(&a->body);
        on_answer(a, w);
        return;
    }
    a->create_due = false;
    post_lines(a);
}

static void send_http(agent *a)
{
    ex_text_free(&a->body);
    ua_queue_take(&a->queue, a->set.batch, BODY_MOST, &a->body);
    if (a->body.failed) answer(a, 0, "not enough memory");
    else if (!a->create_due) post_lines(a);
    else post(a, a->target.create_url, "Content-Type: application/x-www-form-urlencoded", a->target.create, on_created);
}

/* Looked up anew whenever it did not go well: the host may have moved. */
static bool udp_open(agent *a)
{
    struct addrinfo wanted, *found = NULL, *one;
    int error;

    memset(&wanted, 0, sizeof wanted);
    wanted.ai_family = AF_UNSPEC;
    wanted.ai_socktype = SOCK_DGRAM;
    error = getaddrinfo(a->target.host, a->target.port, &wanted, &found);
    if (error) {
        answer(a, 0, gai_strerror(error));
        return false;
    }
    for (one = found; one && a->udp_fd < 0; one = one->ai_next) {
        a->udp_fd = socket(one->ai_family, SOCK_DGRAM, 0);
        if (a->udp_fd < 0) continue;
        fcntl(a->udp_fd, F_SETFD, FD_CLOEXEC);
        if (connect(a->udp_fd, one->ai_addr, one->ai_addrlen) == 0) break;
        error = errno;
        close(a->udp_fd);
        a->udp_fd = -1;
        errno = error;
    }
    if (a->udp_fd < 0) answer(a, 0, strerror(errno));
    freeaddrinfo(found);
    return a->udp_fd >= 0;
}

static void udp_failed(agent *a, int error)
{
    if (a->udp_fd >= 0) close(a->udp_fd);
    a->udp_fd = -1;
    answer(a, 0, strerror(error));
}

/* As many whole lines as a datagram takes. */
static size_t datagram_of(const char *text, size_t size)
{
    size_t n = size < DATAGRAM_MOST ? size : DATAGRAM_MOST;

    while (n > 1 && text[n - 1] != '\n') n--;
    return n;
}

/* A burst that a receiver can take in. What comes next waits until it is known whether anybody listened. */
static void send_udp(agent *a, double now_s)
{
    ex_text body = { 0 };
    size_t at, n;

    ua_queue_take(&a->queue, a->queue.count, DATAGRAM_MOST * DATAGRAMS_AT_ONCE, &body);
    if (body.failed) {
        answer(a, 0, "not enough memory");
    } else if (a->udp_fd >= 0 || udp_open(a)) {
        a->heard_s = now_s + HEAR_S;
        for (at = 0; at < body.size; at += n) {
            n = datagram_of(body.data + at, body.size - at);
            if (send(a->udp_fd, body.data + at, n, MSG_NOSIGNAL) == (ssize_t)n) continue;
            udp_failed(a, errno);
            break;
        }
    }
    ex_text_free(&body);
}

/* Nobody answers datagrams, but a host with no listener says so, and the kernel keeps that for us. */
static void hear_udp(agent *a)
{
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(a->udp_fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error) udp_failed(a, error);
    else answer(a, 204, "");
}

static void send_stdout(agent *a)
{
    ex_text body = { 0 };

    ua_queue_take(&a->queue, a->queue.count, SIZE_MAX, &body);
    if (body.failed || fwrite(body.data, 1, body.size, stdout) != body.size || fflush(stdout) != 0) {
        ua_queue_settle(&a->queue, UA_FAILED);
        a->failed = true;
        ex_fail("stdout: %s", body.failed ? "not enough memory" : strerror(errno));
    } else {
        answer(a, 204, "");
    }
    ex_text_free(&body);
}

/* Sends what is due. Never waits for an answer. */
static void send_lines(agent *a, double now_s)
{
    if (a->target.kind == UA_UDP && a->queue.under_way > 0 && now_s >= a->heard_s) hear_udp(a);
    if (!ua_sender_ready(&a->sender, now_s)) return;
    switch (a->target.kind) {
    case UA_INFLUX1:
    case UA_INFLUX2: send_http(a); break;
    case UA_STDOUT: send_stdout(a); break;
    case UA_UDP: send_udp(a, now_s); break;
    }
}

/* ---- status ----------------------------------------------------------------------------------------------------- */

static void put(ex_text *t, const char *name, const char *kind, const char *help, double value)
{
    ex_text_printf(t, "# HELP rllb_agent_%s %s\n# TYPE rllb_agent_%s %s\nrllb_agent_%s %.17g\n", name, help, name, kind,
                   name, value);
}

static void status_text(const agent *a, double now_s, ex_text *t)
{
    const ua_queue *q = &a->queue;
    const ua_sender *s = &a->sender;

    put(t, "up", "gauge", "1: the last try to write went well", s->state == UA_WELL);
    put(t, "lines_total", "counter", "lines made", (double)q->added);
    put(t, "lines_written_total", "counter", "taken by the database; over UDP: sent", (double)q->written);
    put(t, "lines_dropped_total", "counter", "oldest lines that made room", (double)q->dropped);
    put(t, "lines_refused_total", "counter", "refused by the database, for good", (double)q->refused);
    put(t, "lines_waiting", "gauge", "lines in the buffer, and under way", (double)q->count + (double)q->doubtful);
    put(t, "buffer_lines", "gauge", "lines that fit into the buffer", (double)q->room);
    put(t, "tries_total", "counter", "requests or datagrams", (double)s->tries);
    put(t, "failures_total", "counter", "tries to be repeated", (double)s->failures);
    put(t, "refusals_total", "counter", "batches refused", (double)s->refusals);
    put(t, "samples_total", "counter", "times that the host was looked at", (double)a->samples);
    put(t, "samples_missed_total", "counter", "times that were due while the host stood still", (double)a->missed);
    put(t, "reads_failed_total", "counter", "files of /proc not understood", (double)a->bad_reads);
    put(t, "interfaces_left_out", "gauge", "too many, or not understood", (double)a->net.left_out);
    put(t, "written_age_seconds", "gauge", "since lines were written; -1: never",
        s->written_s < 0 ? -1 : now_s - s->written_s);
}

static void write_status(agent *a, double now_s)
{
    ex_text t = { 0 };
    int error;

    status_text(a, now_s, &t);
    error = t.failed ? ENOMEM : ex_file_replace(a->set.status, t.data, t.size, 0666);
    if (error && !a->status_bad) ex_warn("cannot write %s: %s", a->set.status, strerror(error));
    a->status_bad = error != 0;
    ex_text_free(&t);
}

static void say_counts(const agent *a)
{
    const ua_queue *q = &a->queue;

    fprintf(stderr, "%s: %llu samples, %llu lines: %llu written, %llu dropped, %llu refused, %lld waiting\n",
            ex_program_name(), (unsigned long long)a->samples, (unsigned long long)q->added,
            (unsigned long long)q->written, (unsigned long long)q->dropped, (unsigned long long)q->refused,
            (long long)q->count + q->doubtful);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static void rest(agent *a, double left_s)
{
    struct timespec t;

    left_s = fmin(fmax(left_s, 0), REST_S);
    if (a->web) {
        ud_web_turn(a->web, left_s);
        return;
    }
    t.tv_sec = 0;
    t.tv_nsec = (long)(1e9 * left_s);
    nanosleep(&t, NULL); /* a signal ends it */
}

/* Samples stand at whole intervals from the first; those that could not be taken are counted, not made up for. */
static void sample_if_due(agent *a, double now_s)
{
    double late;

    if (now_s < a->sample_s) return;
    sample(a);
    late = floor((now_s - a->sample_s) / a->set.interval_s);
    a->missed += (uint64_t)late;
    a->sample_s += (late + 1) * a->set.interval_s;
}

static void status_if_due(agent *a, double now_s)
{
    if (tell_now) say_counts(a);
    if (a->set.status && (now_s >= a->status_s || tell_now)) {
        write_status(a, now_s);
        a->status_s = now_s + STATUS_S;
    }
    tell_now = 0;
}

static void turn(agent *a)
{
    double now_s = ex_clock_s(), until_s;

    sample_if_due(a, now_s);
    send_lines(a, now_s);
    status_if_due(a, now_s);
    until_s = a->sample_s;
    if (a->set.status) until_s = fmin(until_s, a->status_s);
    if (a->target.kind == UA_UDP && a->queue.under_way > 0) until_s = fmin(until_s, a->heard_s);
    else if (a->queue.count > 0 && a->queue.under_way == 0) until_s = fmin(until_s, a->sender.next_s);
    rest(a, until_s - ex_clock_s());
}

/* What waits is tried once more, for so long. A failure ends it. */
static void last_try(agent *a)
{
    double until_s = ex_clock_s() + LAST_S, now_s;
    uint64_t failures = a->sender.failures;

    a->sender.next_s = 0;
    while (a->queue.count > 0 && a->sender.failures == failures && !a->failed) {
        now_s = ex_clock_s();
        if (now_s >= until_s) break;
        send_lines(a, now_s);
        if (a->queue.count > 0) rest(a, a->web ? until_s - now_s : PACE_S);
    }
}

static int run(agent *a)
{
    double begin_s = ex_clock_s();

    a->sample_s = begin_s;
    if (a->target.kind != UA_STDOUT) printf("ready\n");
    fflush(stdout);
    while (!ending && !a->failed) {
        turn(a);
        if (a->set.for_s > 0 && ex_clock_s() - begin_s > a->set.for_s) ending = 1;
    }
    last_try(a);
    if (a->set.status) write_status(a, ex_clock_s());
    say_counts(a);
    return a->failed ? EX_FAILED : EX_OK;
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

/* Of a file, or of the environment: the process list shows neither. */
static int read_token(agent *a)
{
    const char *path = a->set.token, *text = getenv("INFLUX_TOKEN");
    size_t size;
    struct stat about;

    if (a->target.kind > UA_INFLUX2) return EX_GO_ON;
    if (!path) {
        snprintf(a->token, sizeof a->token, "%s", text ? text : "");
        if (text && strlen(text) >= sizeof a->token) return ex_usage("token", "INFLUX_TOKEN is too long");
        return EX_GO_ON;
    }
    if (*path++ != '@') return ex_usage("token", "must be @FILE, or come as INFLUX_TOKEN: others would see it here");
    if (!slurp(path, a->token, sizeof a->token - 1, &size)) {
        return ex_usage("token", "cannot read %s: %s", path, strerror(errno));
    }
    if (size == sizeof a->token - 1) return ex_usage("token", "%s is too long", path);
    while (size > 0 && strchr(" \t\r\n", a->token[size - 1])) size--;
    if (size == 0 || memchr(a->token, '\0', size)) return ex_usage("token", "%s holds none", path);
    a->token[size] = '\0';
    if (stat(path, &about) == 0 && about.st_mode & S_IROTH) ex_warn("%s may be read by everybody", path);
    return EX_GO_ON;
}

static int read_host(agent *a)
{
    const char *name = a->set.host;

    if (!name && gethostname(a->host, sizeof a->host) != 0) return ex_usage("host", "%s", strerror(errno));
    if (name && strlen(name) >= sizeof a->host) return ex_usage("host", "has more than %d bytes", UA_HOST_MOST - 1);
    if (name) memcpy(a->host, name, strlen(name) + 1);
    a->host[sizeof a->host - 1] = '\0';
    return a->host[0] ? EX_GO_ON : ex_usage("host", "is missing: this host has no name");
}

static int check(agent *a, const ex_program *p)
{
    settings *s = &a->set;
    int status;

    if (!HAS_PROC && !ex_option_given(p, "proc")) {
        return ex_fail("this system has no /proc as Linux has it: the agent runs on Linux only");
    }
    if (!s->to) return ex_usage("to", "is missing");
    if (strlen(s->proc) > 900 || strlen(s->sys) > 900) return ex_usage("proc", "is too long");
    if (s->status && strlen(s->status) > 1000) return ex_usage("status", "is too long");
    status = ua_target_read(s->to, s->org, s->bucket, "", &a->target);
    if (status < 0) status = read_token(a);
    if (status < 0) status = ua_target_read(s->to, s->org, s->bucket, a->token, &a->target);
    if (status < 0) status = read_host(a);
    return status;
}

static int begin(agent *a)
{
    struct sigaction action;

    if (!ua_queue_create(&a->queue, a->set.buffer)) return EX_FAILED;
    if (a->target.kind <= UA_INFLUX2 && !ud_web_create(&a->web)) return EX_FAILED;
    a->create_due = a->set.create && a->target.create[0];
    ua_sender_init(&a->sender, &a->queue, &a->target, a->token, a->host, a->set.seed);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    return run(a);
}

static void end(agent *a)
{
    if (a->web) ud_web_destroy(a->web);
    if (a->udp_fd >= 0) close(a->udp_fd);
    ex_text_free(&a->body);
    ua_queue_destroy(&a->queue);
}

int main(int argc, char **argv)
{
    static agent a;
    settings *s = &a.set;
    static const char *const used[] = { "available", "cached", NULL };
    int status;
    ex_option options[] = {
        EX_HEADING("Database"),
        EX_STRING("to", &s->to, "WHERE",
                  "influx1:http://HOST:PORT/DATABASE, influx2:http://HOST:PORT, udp:HOST:PORT, or stdout"),
        EX_STRING("org", &s->org, "NAME", "influx2: organisation"),
        EX_STRING("bucket", &s->bucket, "NAME", "influx2: bucket"),
        EX_STRING("token", &s->token, "@FILE",
                  "influx2: token, influx1: user:password; without: INFLUX_TOKEN of the environment, if set"),
        EX_FLAG("create", &s->create, "influx1: make the database if it is not there, as Telegraf does; =no: do not"),
        EX_INT("buffer", &s->buffer, 1, 10000000, "LINES", "wait at most while the database is away"),
        EX_INT("batch", &s->batch, 1, 10000, "LINES", "in one request"),
        EX_DOUBLE("timeout", &s->timeout_s, 0.1, 60, "S", "for a request"),
        EX_HEADING("Host"),
        EX_DOUBLE("interval", &s->interval_s, 0.1, 60, "S", "from one sample to the next"),
        EX_STRING("host", &s->host, "NAME", "the tag host; default: this host's name"),
        EX_STRING("interface", &s->interface, "A,B*,...", "patterns; default: all that are up, without the loopback"),
        EX_FLAG("percpu", &s->percpu, "each processor, beside all together"),
        EX_CHOICE("used", &s->used, used,
                  "memory is used if it is not available (Telegraf since 1.36), or neither free nor cached"),
        EX_STRING("proc", &s->proc, "DIR", "where stat, meminfo and net/dev are"),
        EX_STRING("sys", &s->sys, "DIR", "where class/net is"),
        EX_HEADING("Common"),
        EX_STRING("status", &s->status, "FILE", "Prometheus text, written each second and at SIGUSR1"),
        EX_SEED("seed", &s->seed, "of its pauses"),
        EX_DOUBLE("for", &s->for_s, 0, 1e9, "S", "end after so many seconds; 0: never"),
    };
    ex_program program = { .name = "agent", .summary = "tells a database how busy this host is, as Telegraf would",
                           .details = "Writes cpu, mem and net with Telegraf's fields. Ends at SIGTERM with one last\n"
                                      "try of at most two seconds. SIGUSR1: counts on stderr. See docs/udp.md.",
                           .options = options, .option_count = EX_COUNT(options) };

    s->create = true;
    s->proc = "/proc";
    s->sys = "/sys";
    s->interval_s = 1;
    s->timeout_s = 5;
    s->buffer = 10000;
    s->batch = 1000;
    s->seed = 1;
    a.udp_fd = -1;
    status = ex_options_parse(&program, argc, argv);
    if (status < 0) status = check(&a, &program);
    if (status < 0) status = begin(&a);
    end(&a);
    return status;
}
