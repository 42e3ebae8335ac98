/* companion.c - weights for an unpatched HAProxy, found while it serves

   HAProxy sends a datagram for each request that ended; this program learns from them what each server of one backend
   is worth, and four times a second sets the weights that changed, in one line on HAProxy's runtime socket. Requests
   never pass through here: if it stops, HAProxy goes on with the weights it has. Where there is no socket to be had,
   HAProxy asks by agent checks. How to set it up, watch it and take it out again: docs/haproxy.md.

   One process, one thread, poll(). Datagrams are read ten milliseconds' worth at a time, and no more than LINES_MOST:
   a flood of them costs a bounded share of the processor, and what does not fit into the socket's buffer is lost. */

#include "companion.h"

#include "common.h"
#include "files.h"
#include "options.h"
#include "rllb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINES_MOST = 512, AGENTS_MOST = 64, LINE_MOST = 65536, BUFFER = 4 << 20 };
#define PAUSE_S 0.01
#define ANSWER_S 2.0
#define SAVE_S 10.0
#define STATUS_S 1.0
#define RESET_S 20.0
#define ANSWER_BYTES_MOST ((size_t)4 << 20)

typedef enum errand { NOTHING, ASK, SET } errand;

/* The connection to the runtime socket: one command line, its answer, the end. */
typedef struct talk {
    errand what;
    int fd;
    size_t sent, size;
    char line[HX_COMMAND_MOST + 1];
    ex_text answer;
    int32_t weights; /* SET: how many */
    double until_s;
} talk;

typedef struct agent {
    int fd; /* -1: nobody */
    size_t got;
    char name[HX_NAME_MOST];
    double until_s;
} agent;

typedef struct settings {
    const char *socket, *backend, *log, *agent, *servers, *policy, *model, *state, *status, *first;
    double interval_s, blend, floor, ceiling, for_s;
    bool shadow, dry_run, reset;
    int32_t until; /* last byte, first byte */
    uint64_t seed;
} settings;

typedef struct companion {
    settings set;
    hx_mind *mind;
    talk talk;
    int log_fd, agent_fd;
    char log_path[108]; /* of our own socket file, to be removed */
    agent agent[AGENTS_MOST];
    hx_report said; /* by the command line, where there is no runtime socket */
    double ask_s, save_s, status_s;
    bool silent;    /* HAProxy cannot be reached, and that was said */
    bool refused;   /* it does not take weights, and that was said */
    char shown[HX_COMMAND_MOST + 1]; /* --dry-run: the line shown last */
    bool reset_done, failed;
} companion;

static volatile sig_atomic_t ending, tell_now;

static void on_signal(int number)
{
    if (number == SIGUSR1) tell_now = 1;
    else ending = 1;
}

static double clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- sockets ---------------------------------------------------------------------------------------------------- */

static bool quick(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool unix_address(const char *option, const char *path, struct sockaddr_un *out)
{
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof out->sun_path) return ex_usage(option, "'%s' is too long", path) == EX_OK;
    memcpy(out->sun_path, path, strlen(path) + 1);
    return true;
}

typedef union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} address;

/* ADDRESS:PORT, [ADDRESS]:PORT, or PORT of this machine alone. */
static bool ip_address(const char *option, const char *text, address *out, socklen_t *size)
{
    const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
    char host[64] = "127.0.0.1";
    size_t n = colon ? (size_t)(colon - text) : 0;
    int64_t number;

    memset(out, 0, sizeof *out);
    if (colon && n > 2 && n < sizeof host && text[0] == '[' && text[n - 1] == ']') {
        memcpy(host, text + 1, n - 2);
        host[n - 2] = '\0';
    } else if (colon && n < sizeof host) {
        memcpy(host, text, n);
        host[n] = '\0';
    }
    if (!ex_parse_int64(port, &number) || number < 0 || number > 65535) {
        return ex_usage(option, "'%s' has no port from 0 to 65535", text) == EX_OK;
    }
    *size = sizeof out->four;
    out->four.sin_family = AF_INET;
    out->four.sin_port = htons((uint16_t)number);
    if (inet_pton(AF_INET, host, &out->four.sin_addr) == 1) return true;
    *size = sizeof out->six;
    out->six.sin6_family = AF_INET6;
    out->six.sin6_port = htons((uint16_t)number);
    if (inet_pton(AF_INET6, host, &out->six.sin6_addr) == 1) return true;
    return ex_usage(option, "'%s' is no address with a port", text) == EX_OK;
}

/* Which port the kernel chose. */
static void say_port(const char *what, int fd)
{
    address a;
    socklen_t size = sizeof a;
    char host[64] = "";
    bool six;

    memset(&a, 0, sizeof a);
    if (getsockname(fd, &a.any, &size) != 0) return;
    six = a.any.sa_family == AF_INET6;
    inet_ntop(a.any.sa_family, six ? (void *)&a.six.sin6_addr : (void *)&a.four.sin_addr, host, sizeof host);
    printf(six ? "%s [%s]:%d\n" : "%s %s:%d\n", what, host, (int)ntohs(six ? a.six.sin6_port : a.four.sin_port));
}

/* As much as one may have: bursts wait there. */
static void widen(int fd)
{
    int size = BUFFER;

#ifdef SO_RCVBUFFORCE
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0) return;
#endif
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static bool ip_open(const char *option, const char *text, int type, int *out)
{
    address a;
    socklen_t size;
    int fd, on = 1;

    if (!ip_address(option, text, &a, &size)) return false;
    fd = socket(a.any.sa_family, type, 0);
    if (type == SOCK_STREAM && fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || !quick(fd) || bind(fd, &a.any, size) != 0 || (type == SOCK_STREAM && listen(fd, AGENTS_MOST) != 0)) {
        ex_usage(option, "'%s': %s", text, strerror(errno));
        if (fd >= 0) close(fd);
        return false;
    }
    *out = fd;
    return true;
}

/* A socket file that nobody listens on is left from before. HAProxy's group may write, others may not. */
static bool unix_open(companion *c, const char *path)
{
    struct sockaddr_un a;
    struct stat there;
    mode_t before;
    int bound;

    if (!unix_address("log", path, &a)) return false;
    c->log_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (c->log_fd < 0 || !quick(c->log_fd)) return ex_usage("log", "%s", strerror(errno)) == EX_OK;
    if (stat(path, &there) == 0) {
        if (!S_ISSOCK(there.st_mode)) return ex_usage("log", "'%s' is there, and no socket", path) == EX_OK;
        if (connect(c->log_fd, (struct sockaddr *)&a, sizeof a) == 0) {
            return ex_usage("log", "'%s': somebody listens there", path) == EX_OK;
        }
        unlink(path);
    }
    before = umask(0117);
    bound = bind(c->log_fd, (struct sockaddr *)&a, sizeof a);
    umask(before);
    if (bound != 0) return ex_usage("log", "'%s': %s", path, strerror(errno)) == EX_OK;
    memcpy(c->log_path, a.sun_path, sizeof c->log_path);
    return true;
}

static bool open_all(companion *c)
{
    if (strncmp(c->set.log, "unix:", 5) == 0) {
        if (!unix_open(c, c->set.log + 5)) return false;
        printf("log unix:%s\n", c->log_path);
    } else {
        if (!ip_open("log", c->set.log, SOCK_DGRAM, &c->log_fd)) return false;
        say_port("log", c->log_fd);
    }
    widen(c->log_fd);
    if (!c->set.agent) return true;
    if (!ip_open("agent", c->set.agent, SOCK_STREAM, &c->agent_fd)) return false;
    say_port("agent", c->agent_fd);
    return true;
}

/* Who may write to the runtime socket may do anything with HAProxy. */
static void check_rights(const char *path)
{
    struct stat s;

    if (stat(path, &s) != 0) return; /* HAProxy may come later */
    if (!S_ISSOCK(s.st_mode)) ex_warn("%s is no socket", path);
    else if (s.st_mode & S_IWOTH) ex_warn("%s may be written by everybody: set its mode to 600 or 660", path);
}

/* ---- the runtime socket ----------------------------------------------------------------------------------------- */

static void talk_end(companion *c)
{
    if (c->talk.fd >= 0) close(c->talk.fd);
    ex_text_free(&c->talk.answer);
    c->talk.fd = -1;
    c->talk.what = NOTHING;
}

/* Said once, until it goes well again. */
static void talk_failed(companion *c, const char *why)
{
    hx_mind_counts(c->mind)->faults++;
    if (!c->silent) ex_warn("%s: %s; trying again", c->set.socket, why);
    c->silent = true;
    talk_end(c);
}

static void talk_begin(companion *c, errand what, double now_s)
{
    struct sockaddr_un a;
    talk *t = &c->talk;

    t->what = what;
    t->sent = 0;
    t->until_s = now_s + ANSWER_S;
    unix_address("socket", c->set.socket, &a);
    t->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (t->fd < 0 || !quick(t->fd) || connect(t->fd, (struct sockaddr *)&a, sizeof a) != 0) {
        talk_failed(c, strerror(errno));
    }
}

static void ask(companion *c, double now_s)
{
    c->talk.size = (size_t)snprintf(c->talk.line, sizeof c->talk.line,
                                    "show info;show stat %s 4 -1;show servers state %s\n", c->set.backend,
                                    c->set.backend);
    talk_begin(c, ASK, now_s);
}

static void show(companion *c)
{
    if (strcmp(c->shown, c->talk.line) == 0) return;
    memcpy(c->shown, c->talk.line, sizeof c->shown);
    fputs(c->talk.line, stdout);
    fflush(stdout);
}

/* Sends the weights that HAProxy should have otherwise. */
static void set_weights(companion *c, double now_s)
{
    size_t size = hx_mind_commands(c->mind, c->set.reset, c->talk.line, &c->talk.weights);

    c->talk.size = size;
    if (size == 0 && c->set.reset) c->reset_done = true;
    if (size == 0 || c->set.shadow) return;
    if (c->set.dry_run) show(c);
    else talk_begin(c, SET, now_s);
}

/* Nothing but line ends: it was taken. Else the first line says why not. */
static void answer_set(companion *c)
{
    const ex_text *a = &c->talk.answer;
    size_t i = 0, n = 0;

    while (i < a->size && (a->data[i] == '\n' || a->data[i] == '\r')) i++;
    if (i == a->size) {
        hx_mind_counts(c->mind)->sent += (uint64_t)c->talk.weights;
        hx_mind_taken(c->mind, c->set.reset);
        c->refused = false;
        return;
    }
    while (i + n < a->size && a->data[i + n] != '\n' && n < 120) n++;
    hx_mind_counts(c->mind)->refused++;
    if (!c->refused) ex_warn("%s: HAProxy takes no weights: %.*s", c->set.socket, (int)n, a->data + i);
    c->refused = true;
    if (c->set.reset) c->failed = true;
}

/* The whole answer is there. */
static void answered(companion *c, double now_s)
{
    static hx_report report;
    errand what = c->talk.what;
    char why[120];

    if (what == SET) {
        answer_set(c);
        talk_end(c);
        return;
    }
    if (c->talk.answer.failed ||
        !hx_report_read(c->set.backend, c->talk.answer.data ? c->talk.answer.data : "", c->talk.answer.size, &report,
                        why)) {
        talk_failed(c, c->talk.answer.failed ? "not enough memory" : why);
        return;
    }
    if (c->silent) fprintf(stderr, "%s: %s answers again\n", ex_program_name(), c->set.socket);
    c->silent = false;
    talk_end(c);
    if (!hx_mind_report(c->mind, &report, now_s)) {
        c->failed = true;
        return;
    }
    hx_mind_tick(c->mind, now_s);
    if (!c->set.agent) set_weights(c, now_s);
}

static void talk_write(companion *c)
{
    talk *t = &c->talk;
    ssize_t n = send(t->fd, t->line + t->sent, t->size - t->sent, MSG_NOSIGNAL);

    if (n > 0) t->sent += (size_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR) talk_failed(c, strerror(errno));
}

static void talk_read(companion *c, double now_s)
{
    talk *t = &c->talk;
    char bytes[16384];
    ssize_t n;

    while ((n = read(t->fd, bytes, sizeof bytes)) > 0) {
        ex_text_add(&t->answer, bytes, (size_t)n);
        if (t->answer.size <= ANSWER_BYTES_MOST) continue;
        talk_failed(c, "the answer does not end");
        return;
    }
    if (n == 0) answered(c, now_s);
    else if (errno != EAGAIN && errno != EINTR) talk_failed(c, strerror(errno));
}

static void talk_on(companion *c, short events, double now_s)
{
    talk *t = &c->talk;

    if (t->what != NOTHING && t->sent < t->size && events) talk_write(c);
    if (t->what != NOTHING && t->sent == t->size && (events & (POLLIN | POLLHUP | POLLERR))) talk_read(c, now_s);
    if (t->what != NOTHING && now_s > t->until_s) talk_failed(c, "no answer in time");
}

/* ---- log lines -------------------------------------------------------------------------------------------------- */

static void hear(companion *c, double now_s)
{
    static char line[LINE_MOST];
    int32_t i;
    ssize_t n;

    for (i = 0; i < LINES_MOST; i++) {
        n = recv(c->log_fd, line, sizeof line, 0);
        if (n < 0) return;
        hx_mind_line(c->mind, line, (size_t)n, now_s);
    }
    hx_mind_counts(c->mind)->full++;
}

/* ---- agent checks ----------------------------------------------------------------------------------------------- */

static void agent_end(agent *a)
{
    close(a->fd);
    a->fd = -1;
}

static void agent_take(companion *c, double now_s)
{
    int fd = accept(c->agent_fd, NULL, NULL);
    int32_t i;

    if (fd < 0) return;
    for (i = 0; i < AGENTS_MOST && c->agent[i].fd >= 0; i++) {}
    if (i == AGENTS_MOST || !quick(fd)) {
        close(fd); /* HAProxy leaves the weight as it is */
        return;
    }
    c->agent[i].fd = fd;
    c->agent[i].got = 0;
    c->agent[i].until_s = now_s + ANSWER_S;
}

/* A percentage and nothing else: whether a server is up is not ours to say. */
static void agent_answer(companion *c, agent *a, const char *name)
{
    int32_t percent = hx_mind_percent(c->mind, name);
    char text[32];
    int n;

    if (percent < 0) {
        hx_mind_counts(c->mind)->strangers++;
        return;
    }
    n = snprintf(text, sizeof text, "%d%%\n", (int)percent);
    if (!c->set.shadow && !c->set.dry_run && send(a->fd, text, (size_t)n, MSG_NOSIGNAL) == n) {
        hx_mind_counts(c->mind)->agents++;
    }
    if (c->set.dry_run) printf("%s %s", name, text);
}

static void agent_on(companion *c, agent *a, short events, double now_s)
{
    char name[HX_NAME_MOST];
    ssize_t n;
    int known;

    if (events) {
        n = recv(a->fd, a->name + a->got, sizeof a->name - a->got, 0);
        if (n > 0) a->got += (size_t)n;
        known = hx_agent_read(a->name, a->got, name);
        if (known > 0) agent_answer(c, a, name);
        if (known < 0) hx_mind_counts(c->mind)->strangers++;
        if (known != 0 || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            agent_end(a);
            return;
        }
    }
    if (now_s > a->until_s) agent_end(a);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static void keep(companion *c, double now_s)
{
    if (now_s >= c->save_s) {
        hx_mind_save(c->mind, now_s);
        c->save_s = now_s + SAVE_S;
    }
    if (c->set.status && (now_s >= c->status_s || tell_now)) {
        size_t size;
        char *text;
        int error;
        tell_now = 0; /* first: who asks from here on gets a page of his own */
        text = hx_mind_status(c->mind, now_s, &size);
        error = text ? ex_file_replace(c->set.status, text, size, 0666) : 0;
        if (error) ex_warn("cannot write %s: %s", c->set.status, strerror(error));
        free(text);
        c->status_s = now_s + STATUS_S;
    }
}

/* What is due by the clock. Whoever ends sets no more weights: somebody may have taken over already. */
static void due(companion *c, double now_s)
{
    bool idle = c->talk.what == NOTHING && !ending;

    if (idle && now_s >= c->ask_s) {
        c->ask_s += c->set.interval_s;
        if (c->ask_s < now_s) c->ask_s = now_s + c->set.interval_s;
        if (c->set.socket) ask(c, now_s);
        else hx_mind_tick(c->mind, now_s);
    } else if (c->set.socket && idle && !c->set.agent && hx_mind_urgent(c->mind)) {
        set_weights(c, now_s);
    }
    keep(c, now_s);
}

static void rest(const companion *c, double until_s, struct pollfd *p, nfds_t n)
{
    double left = until_s - clock_s();

    (void)c;
    if (poll(p, n, left > 0 ? (int)ceil(1000 * left) : 0) < 0) {
        nfds_t i;
        for (i = 0; i < n; i++) p[i].revents = 0;
    }
}

/* One turn. Log lines over UDP wait in the kernel until the turn's end; the queue of a unix socket is short, so they
   end it. */
static void turn(companion *c)
{
    struct pollfd p[3 + AGENTS_MOST];
    double now_s = clock_s(), until_s = now_s + PAUSE_S;
    int32_t i;

    memset(p, 0, sizeof p);
    p[0].fd = c->talk.what == NOTHING ? -1 : c->talk.fd;
    p[0].events = c->talk.sent < c->talk.size ? POLLOUT : POLLIN;
    p[1].fd = c->agent_fd;
    p[2].fd = c->log_path[0] ? c->log_fd : -1;
    p[1].events = p[2].events = POLLIN;
    for (i = 0; i < AGENTS_MOST; i++) {
        p[3 + i].fd = c->agent[i].fd;
        p[3 + i].events = POLLIN;
    }
    rest(c, until_s, p, c->agent_fd < 0 ? 3 : 3 + AGENTS_MOST);
    now_s = clock_s();
    hear(c, now_s);
    if (c->talk.what != NOTHING) talk_on(c, p[0].revents, now_s);
    for (i = 0; i < AGENTS_MOST && c->agent_fd >= 0; i++) {
        if (c->agent[i].fd >= 0) agent_on(c, &c->agent[i], p[3 + i].revents, now_s);
    }
    if (p[1].revents) agent_take(c, now_s);
    due(c, now_s);
}

static int run(companion *c)
{
    double begin_s = clock_s();

    c->ask_s = begin_s;
    c->save_s = begin_s + SAVE_S;
    printf("ready\n");
    fflush(stdout);
    while (!ending && !c->failed && !c->reset_done) {
        turn(c);
        if (c->set.for_s > 0 && clock_s() - begin_s > c->set.for_s) ending = 1;
        if (c->set.reset && clock_s() - begin_s > RESET_S) {
            return ex_fail("%s: the configured weights could not be set", c->set.socket);
        }
    }
    if (c->failed) return EX_FAILED;
    tell_now = 1;
    keep(c, clock_s());
    return c->set.reset || hx_mind_save(c->mind, clock_s()) ? EX_OK : EX_FAILED;
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

/* "a,b=2": servers that HAProxy cannot tell us of. */
static int read_servers(companion *c)
{
    const char *at = c->set.servers;
    char name[HX_NAME_MOST], *equals;
    hx_server *s;
    int64_t weight;
    size_t n;

    c->said.pid = 1;
    for (; *at; at += n + (at[n] == ',')) {
        n = strcspn(at, ",");
        weight = 100;
        memcpy(name, at, n < sizeof name ? n : 0);
        name[n < sizeof name ? n : 0] = '\0';
        equals = strchr(name, '=');
        if (equals) *equals = '\0';
        if (!hx_name_ok(name) || (equals && !ex_parse_int64(equals + 1, &weight)) || weight < 1 ||
            weight > HX_WEIGHT_MOST) {
            return ex_usage("servers", "'%.*s' is not NAME or NAME=WEIGHT, weight 1 to 256", (int)n, at);
        }
        if (c->said.count == HX_SERVERS_MOST) return ex_usage("servers", "are more than %d", HX_SERVERS_MOST);
        s = &c->said.server[c->said.count++];
        memcpy(s->name, name, sizeof name);
        s->running = s->ready = true;
        s->weight = s->configured = (int32_t)weight;
    }
    return c->said.count ? EX_GO_ON : ex_usage("servers", "is empty");
}

static int check(companion *c)
{
    const settings *s = &c->set;
    struct sockaddr_un a;

    if (!s->backend) return ex_usage("backend", "is missing");
    if (!hx_name_ok(s->backend)) return ex_usage("backend", "'%s' is no name of HAProxy's", s->backend);
    if (!s->socket && !s->agent) return ex_usage("socket", "is missing (or --agent)");
    if (s->socket && !unix_address("socket", s->socket, &a)) return EX_USAGE;
    if (!s->socket && !s->servers) return ex_usage("servers", "is missing: without --socket nobody tells them");
    if (s->socket && s->servers) return ex_usage("servers", "has no use with --socket");
    if (s->reset && (!s->socket || s->agent)) return ex_usage("reset", "needs --socket, and no --agent");
    if (s->reset && (s->shadow || s->dry_run)) return ex_usage("reset", "has no use with --shadow or --dry-run");
    if (s->ceiling < 1 || s->floor > 1) return ex_usage(s->floor > 1 ? "floor" : "ceiling", "the mean weight is 1");
    if (strcmp(s->policy, "awcmp") == 0 && !s->socket) return ex_usage("policy", "awcmp needs --socket");
    return s->servers ? read_servers(c) : EX_GO_ON;
}

static int begin(companion *c)
{
    const settings *s = &c->set;
    hx_setup setup = { s->policy, s->model, s->reset ? NULL : s->state, s->backend, s->interval_s, s->blend, s->floor,
                       s->ceiling, s->until == 1, !s->socket, s->seed };
    struct sigaction action;

    c->mind = hx_mind_create(&setup);
    if (!c->mind) return EX_USAGE;
    if (!s->reset && !open_all(c)) return EX_USAGE;
    if (s->socket) check_rights(s->socket);
    if (s->servers && !hx_mind_report(c->mind, &c->said, clock_s())) return EX_FAILED;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    return run(c);
}

static void end(companion *c)
{
    int32_t i;

    talk_end(c);
    for (i = 0; i < AGENTS_MOST; i++) {
        if (c->agent[i].fd >= 0) agent_end(&c->agent[i]);
    }
    if (c->log_fd >= 0) close(c->log_fd);
    if (c->agent_fd >= 0) close(c->agent_fd);
    if (c->log_path[0]) unlink(c->log_path);
    hx_mind_destroy(c->mind);
}

int main(int argc, char **argv)
{
    static companion c;
    settings *s = &c.set;
    static const char *const untils[] = { "last", "first", NULL };
    int status, i;
    ex_option options[] = {
        EX_HEADING("HAProxy"),
        EX_STRING("socket", &s->socket, "PATH", "its runtime socket, level admin"),
        EX_STRING("backend", &s->backend, "NAME", "whose servers' weights are set"),
        EX_STRING("log", &s->log, "WHERE", "where it sends log lines: ADDRESS:PORT (UDP), or unix:PATH"),
        EX_STRING("agent", &s->agent, "WHERE", "no weights are set, but told to agent checks at ADDRESS:PORT"),
        EX_STRING("servers", &s->servers, "A,B=W,...",
                  "--agent without --socket: the servers and their configured weights (100)"),
        EX_FLAG("reset", &s->reset, "set the configured weights, and end"),
        EX_HEADING("Deciding"),
        EX_STRING("policy", &s->policy, "NAME", "learned, equalise, hlb, awcmp"),
        EX_STRING("model", &s->model, "FILE", "for learned; default: the one that ships"),
        EX_DOUBLE("interval", &s->interval_s, 0.05, 60, "S", "from one decision to the next"),
        EX_CHOICE("duration", &s->until, untils, "a request lasts until its answer's last byte, or its first"),
        EX_DOUBLE("floor", &s->floor, 0.001, 1, "X", "no weight below so many times the mean"),
        EX_DOUBLE("ceiling", &s->ceiling, 1, 1000, "X", "no weight above"),
        EX_SEED("seed", &s->seed, "of its random numbers"),
        EX_HEADING("Trust"),
        EX_FLAG("shadow", &s->shadow, "decide, set nothing"),
        EX_FLAG("dry-run", &s->dry_run, "print the lines that would be sent, send none"),
        EX_DOUBLE("blend", &s->blend, 0.01, 1, "X", "share of the weights found, the rest as configured"),
        EX_STRING("state", &s->state, "FILE", "what was learned, saved every 10 s and at the end"),
        EX_STRING("status", &s->status, "FILE", "Prometheus text, written each second and at SIGUSR1"),
        EX_DOUBLE("for", &s->for_s, 0, 1e9, "S", "end after so many seconds; 0: never"),
    };
    ex_program program = { .name = "companion", .summary = "weights for HAProxy, learned from its own log",
                           .details =
                               "HAProxy must log to --log with `option httplog`, or with\n"
                               "    log-format \"%b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq\"\n"
                               "and `balance leastconn` suits it best. See docs/haproxy.md.",
                           .options = options, .option_count = EX_COUNT(options) };

    s->log = "127.0.0.1:0";
    s->policy = "learned";
    s->interval_s = 0.25;
    s->blend = 1;
    s->floor = 0.01;
    s->ceiling = 100;
    s->seed = 1;
    c.log_fd = c.agent_fd = c.talk.fd = -1;
    for (i = 0; i < AGENTS_MOST; i++) c.agent[i].fd = -1;
    status = ex_options_parse(&program, argc, argv);
    if (status < 0) status = check(&c);
    if (status < 0) status = begin(&c);
    end(&c);
    return status;
}
