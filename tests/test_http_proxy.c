/* The proxy of examples/http from outside: what it passes on, tries again, waits for, and how it starts and ends.

   The tests start build/http/proxy on a port that the kernel chooses, or build/test/http_proxy.asan where they are
   instrumented themselves, or what HTTP_PROXY_PROGRAM names. They are both its clients and its servers: threads with
   plain sockets that do as the target of a request says, and misbehave as they are told. All of them are at a loopback
   address of this process, where there are such, so that nobody else takes their ports. Everything has a time limit,
   and every proxy that was started is ended by its pid; one that leaks or misuses memory ends with another status. */

#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { HOLD = 65536, BIG = 5 << 20, PATIENCE_S = 40, FLAGS = 40, SERVERS = 3, HEAD = 20000 };

#ifdef RLLB_I_ASAN
enum { MORE = 3 }; /* memory that AddressSanitizer takes besides */
#else
enum { MORE = 1 };
#endif

/* Waits until it holds, for PATIENCE_S at most. */
#define AWAIT(condition) \
    do { \
        double awaited_s = now_s() + PATIENCE_S; \
        while (!(condition) && now_s() < awaited_s) nap_ms(2); \
    } while (0)

static void nap_ms(int ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- sockets ------------------------------------------------------------------------------------------------ */

static struct sockaddr_in address_of(const char *text, int port)
{
    struct sockaddr_in a;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = inet_addr(text);
    return a;
}

/* One of 127.0.0.0/8 where all of it is the loopback. Asked first before there are threads. */
static const char *host(void)
{
    static char text[20];
    unsigned pid = (unsigned)getpid();
    struct sockaddr_in a;
    int fd;

    if (text[0]) return text;
    snprintf(text, sizeof text, "127.%u.%u.%u", 64 + (pid >> 16) % 64, pid >> 8 & 255, pid & 255);
    a = address_of(text, 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) != 0) snprintf(text, sizeof text, "127.0.0.1");
    close(fd);
    return text;
}

static struct sockaddr_in loopback(int port)
{
    return address_of(host(), port);
}

static void set_up(int fd)
{
    struct timeval t = { PATIENCE_S, 0 };
    int one = 1;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static int connect_to(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    set_up(fd);
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

static bool send_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue; /* stopped and let go on */
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool send_text(int fd, const char *text)
{
    return send_all(fd, text, strlen(text));
}

static void reset(int fd)
{
    struct linger l = { 1, 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static bool comes(int fd, int ms)
{
    struct pollfd p = { fd, POLLIN, 0 };
    int n;

    while ((n = poll(&p, 1, ms)) < 0 && errno == EINTR) continue;
    return n == 1;
}

/* Nothing more comes: the other side closed, in whatever way, or does so within that time. */
static bool is_closed(int fd, int ms)
{
    char byte;

    return comes(fd, ms) && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

/* Byte i of every long body. */
static char byte_at(size_t i)
{
    return (char)('a' + (i * 7 + i / 1000) % 26);
}

static char *make_body(size_t size)
{
    char *b = malloc(size + 1);
    size_t i;

    for (i = 0; i < size; i++) b[i] = byte_at(i);
    return b;
}

static bool is_body(const char *b, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        if (b[i] != byte_at(i)) return false;
    }
    return true;
}

/* ---- a message as it comes, read slowly and plainly ----------------------------------------------------------- */

typedef struct reader {
    int fd;
    char bytes[65536];
    size_t at, size;
    int error; /* that ended it; 0: closed */
} reader;

typedef struct message {
    char head[HEAD];
    int status;      /* of a response */
    char *body;
    size_t size;
    bool whole, last; /* ended as it announced; says Connection: close, or ended with the connection */
} message;

static int next_byte(reader *r)
{
    if (r->at == r->size) {
        ssize_t n;
        while ((n = recv(r->fd, r->bytes, sizeof r->bytes, 0)) < 0 && errno == EINTR) continue;
        if (n < 0) r->error = errno;
        if (n <= 0) return -1;
        r->at = 0;
        r->size = (size_t)n;
    }
    return (unsigned char)r->bytes[r->at++];
}

static bool read_head(reader *r, char *to)
{
    size_t n = 0;
    int c;

    while (n + 1 < HEAD && (c = next_byte(r)) >= 0) {
        to[n++] = (char)c;
        to[n] = '\0';
        if (n >= 4 && memcmp(to + n - 4, "\r\n\r\n", 4) == 0) return true;
    }
    return false;
}

static bool has(const char *head, const char *words)
{
    return strstr(head, words) != NULL;
}

static bool read_bytes(reader *r, message *m, size_t size)
{
    m->body = realloc(m->body, m->size + size + 1);
    while (size > 0) {
        int c = next_byte(r);
        if (c < 0) return false;
        m->body[m->size++] = (char)c;
        size--;
        while (size > 0 && r->at < r->size) {
            m->body[m->size++] = r->bytes[r->at++];
            size--;
        }
    }
    return true;
}

static bool read_chunks(reader *r, message *m)
{
    for (;;) {
        char line[32];
        size_t n = 0, size;
        int c;
        while ((c = next_byte(r)) >= 0 && c != '\n' && n + 1 < sizeof line) line[n++] = (char)c;
        line[n] = '\0';
        if (c < 0) return false;
        size = strtoul(line, NULL, 16);
        if (size > 0 && !read_bytes(r, m, size)) return false;
        if (next_byte(r) != '\r' || next_byte(r) != '\n') return false;
        if (size == 0) return true;
    }
}

static void read_until_closed(reader *r, message *m)
{
    while (read_bytes(r, m, r->at < r->size ? r->size - r->at : 1)) continue;
    m->last = true;
}

/* A request, or a response; head_only: to HEAD. */
static bool read_message(reader *r, message *m, bool response, bool head_only)
{
    const char *length;

    memset(m, 0, sizeof *m);
    if (!read_head(r, m->head)) return false;
    m->status = response ? atoi(m->head + 9) : 0;
    m->last = has(m->head, "Connection: close");
    if (head_only || m->status == 204 || m->status == 304 || (response && m->status < 200)) return m->whole = true;
    length = strstr(m->head, "Content-Length: ");
    if (has(m->head, "Transfer-Encoding: chunked")) m->whole = read_chunks(r, m);
    else if (length) m->whole = read_bytes(r, m, strtoul(length + 16, NULL, 10));
    else if (response) read_until_closed(r, m);
    else m->whole = true;
    return true;
}

/* ---- servers -------------------------------------------------------------------------------------------------- */

typedef enum mood {
    GOOD,
    DIES,   /* reads the request, and closes */
    CUTS,   /* breaks off in the middle of its answer */
    BUSY,   /* 503 */
    ERRS,   /* 500 */
    HANGS,
    LEAVES, /* answers, says nothing of closing, and closes a moment later */
    PARTS   /* the same, but closes when it may go */
} mood;

typedef struct server {
    int listener, port;
    volatile mood mood;
    volatile int connections, requests, posts, active, most, gone; /* gone: a client closed before its answer */
    volatile long long sent;
    volatile bool stop, go; /* go: /hold/ is answered, one that parts closes */
    volatile int visits; /* threads at work */
    char last[HEAD]; /* head of the last request */
    pthread_t thread;
    pthread_mutex_t lock;
} server;

typedef struct visit {
    server *s;
    int fd;
} visit;

static long number_after(const char *text, const char *word)
{
    const char *at = strstr(text, word);

    return at ? atol(at + strlen(word)) : -1;
}

static bool send_chunks(int fd, const char *body, size_t size)
{
    size_t at = 0, step = 7000;

    while (at < size) {
        char line[32];
        size_t n = size - at < step ? size - at : step;
        snprintf(line, sizeof line, "%zx\r\n", n);
        if (!send_text(fd, line) || !send_all(fd, body + at, n) || !send_text(fd, "\r\n")) return false;
        at += n;
    }
    return send_text(fd, "0\r\n\r\n");
}

/* Body of an answer: /len/N with its length, /chunk/N in chunks, /close/N until the connection ends, /flood without
   end; /echo/... the request's own. Half of it only if it is cut. */
static bool answer_body(visit *v, const char *target, const char *body, size_t size, bool head_only, bool cut)
{
    char head[200];
    bool chunks = has(target, "/chunk/"), close_ends = has(target, "/close/");

    if (chunks) snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else if (close_ends) snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n\r\n");
    else snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
    if (!send_text(v->fd, head)) return false;
    if (head_only) return true;
    if (cut) {
        if (chunks) send_text(v->fd, "2000\r\n");
        send_all(v->fd, body, size / 2);
        nap_ms(20);
        reset(v->fd);
        return false;
    }
    if (chunks) return send_chunks(v->fd, body, size);
    return send_all(v->fd, body, size) && !close_ends;
}

static bool flood(visit *v)
{
    static char block[65536];
    char line[200];

    send_text(v->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(line, sizeof line, "%zx\r\n", sizeof block);
    while (!v->s->stop && send_text(v->fd, line) && send_all(v->fd, block, sizeof block) && send_text(v->fd, "\r\n")) {
        v->s->sent += (long long)sizeof block;
    }
    return false;
}

static void wait_here(visit *v, double seconds, bool hold)
{
    double until = now_s() + seconds;

    while (!v->s->stop && now_s() < until && !(hold && v->s->go)) {
        if (is_closed(v->fd, 10)) {
            v->s->gone++;
            return;
        }
    }
}

/* False: the connection ends. */
static bool answer(visit *v, const message *m, mood how)
{
    char target[64] = "";
    bool head_only = strncmp(m->head, "HEAD", 4) == 0, ok;
    char *made = NULL;
    size_t size;

    sscanf(m->head, "%*s %63s", target);
    if (how == DIES) return false;
    if (how == BUSY) return send_text(v->fd, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    if (how == ERRS) return send_text(v->fd, "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops");
    if (how == HANGS) wait_here(v, 600, false);
    if (how == HANGS) return false;
    if (has(target, "/flood")) return flood(v);
    if (has(target, "/status/")) {
        char line[80];
        snprintf(line, sizeof line, "HTTP/1.1 %ld Words\r\n%s\r\n", number_after(target, "/status/"),
                 has(target, "04") ? "" : "Content-Length: 0\r\n");
        return send_text(v->fd, line);
    }
    if (has(target, "/wait/")) wait_here(v, 1e-3 * (double)number_after(target, "/wait/"), false);
    if (has(target, "/hold/")) wait_here(v, 600, true);
    if (has(target, "/interim/")) send_text(v->fd, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    if (has(target, "/echo")) return answer_body(v, target, m->body, m->size, head_only, how == CUTS);
    size = (size_t)(strrchr(target, '/') ? atol(strrchr(target, '/') + 1) : 0);
    made = make_body(size);
    ok = answer_body(v, target, made, size, head_only, how == CUTS);
    free(made);
    return ok;
}

static void *serve_one(void *self)
{
    visit v = *(visit *)self;
    reader *r = calloc(1, sizeof *r);
    message *m = calloc(1, sizeof *m);
    bool go_on = true;

    free(self);
    r->fd = v.fd;
    while (go_on && !v.s->stop && read_message(r, m, false, false)) {
        mood how;
        pthread_mutex_lock(&v.s->lock);
        v.s->requests++;
        v.s->posts += strncmp(m->head, "POST", 4) == 0;
        v.s->active++;
        if (v.s->active > v.s->most) v.s->most = v.s->active;
        memcpy(v.s->last, m->head, HEAD);
        how = v.s->mood;
        pthread_mutex_unlock(&v.s->lock);
        go_on = m->whole && answer(&v, m, how);
        pthread_mutex_lock(&v.s->lock);
        v.s->active--;
        pthread_mutex_unlock(&v.s->lock);
        free(m->body);
        m->body = NULL;
        if (how == LEAVES) nap_ms(2);
        while (how == PARTS && !v.s->go && !v.s->stop) nap_ms(1);
        if (how == LEAVES || how == PARTS) go_on = false;
    }
    close(v.fd);
    free(m->body);
    free(m);
    free(r);
    pthread_mutex_lock(&v.s->lock);
    v.s->visits--;
    pthread_mutex_unlock(&v.s->lock);
    return NULL;
}

static void *serve(void *self)
{
    server *s = self;

    while (!s->stop) {
        struct pollfd p = { s->listener, POLLIN, 0 };
        pthread_t t;
        visit *v;
        int fd;
        if (poll(&p, 1, 20) != 1 || (fd = accept(s->listener, NULL, NULL)) < 0) continue;
        set_up(fd);
        v = malloc(sizeof *v);
        v->s = s;
        v->fd = fd;
        s->connections++;
        pthread_mutex_lock(&s->lock);
        s->visits++;
        pthread_mutex_unlock(&s->lock);
        if (pthread_create(&t, NULL, serve_one, v) == 0) pthread_detach(t);
    }
    close(s->listener);
    return NULL;
}

static int listen_at(int port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 64) == 0) return fd;
    close(fd);
    return -1;
}

static server *server_start(int port, mood how)
{
    server *s = calloc(1, sizeof *s);
    struct sockaddr_in a;
    socklen_t size = sizeof a;

    s->mood = how;
    pthread_mutex_init(&s->lock, NULL);
    s->listener = listen_at(port);
    getsockname(s->listener, (struct sockaddr *)&a, &size);
    s->port = ntohs(a.sin_port);
    pthread_create(&s->thread, NULL, serve, s);
    return s;
}

static void server_stop(server *s)
{
    int i, left = 1;

    s->stop = true;
    pthread_join(s->thread, NULL);
    for (i = 0; i < 100 * PATIENCE_S && left > 0; i++) {
        pthread_mutex_lock(&s->lock);
        left = s->visits;
        pthread_mutex_unlock(&s->lock);
        if (left > 0) nap_ms(10);
    }
    if (left == 0) free(s);
}

/* A port that refuses, and that nobody gets but who asks for it: it stays bound (where that does not keep it from
   others altogether) and is not listened at. */
static int dead_port(void)
{
    struct sockaddr_in a = loopback(0);
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) == 0) getsockname(fd, (struct sockaddr *)&a, &size);
#ifndef __linux__
    close(fd);
#endif
    return ntohs(a.sin_port);
}

/* ---- the proxy ------------------------------------------------------------------------------------------------ */

typedef struct proxy {
    pid_t pid;
    int port, out;
    int count;
    char text[FLAGS][256];
} proxy;

static const char *program(void)
{
    const char *named = getenv("HTTP_PROXY_PROGRAM");

    if (named) return named;
#ifdef RLLB_I_ASAN
    setenv("ASAN_OPTIONS", "quarantine_size_mb=1", 1); /* what it keeps to find misuse counts as memory, too */
    return "build/test/http_proxy.asan";
#else
    return "build/http/proxy";
#endif
}

static void flag(proxy *p, const char *name, const char *value)
{
    snprintf(p->text[p->count++], sizeof p->text[0], "%s", name);
    snprintf(p->text[p->count++], sizeof p->text[0], "%s", value);
}

static void add_server(proxy *p, int index, int port, const char *more)
{
    char line[128];

    snprintf(line, sizeof line, "s%d %s:%d %s", index, host(), port, more);
    flag(p, "--server", line);
}

static proxy proxy_new(void)
{
    char line[40];
    proxy p;

    memset(&p, 0, sizeof p);
    snprintf(line, sizeof line, "%s:0", host());
    flag(&p, "--listen", line);
    flag(&p, "--admin", "off");
    flag(&p, "--clients", "500");
    return p;
}

/* The first line that begins so; false if the program ends or takes too long. */
static bool wait_line(const proxy *p, const char *begin, char *line, size_t size)
{
    size_t n = 0;

    while (n + 1 < size && comes(p->out, 1000 * PATIENCE_S) && read(p->out, line + n, 1) == 1) {
        if (line[n] != '\n') {
            n++;
            continue;
        }
        line[n] = '\0';
        if (strncmp(line, begin, strlen(begin)) == 0) return true;
        n = 0;
    }
    return false;
}

static bool proxy_start(proxy *p)
{
    char *argv[FLAGS + 2], line[200], name[256];
    int i, ends[2];

    if (pipe(ends) < 0) return false;
    snprintf(name, sizeof name, "%s", program());
    argv[0] = name;
    for (i = 0; i < p->count; i++) argv[i + 1] = p->text[i];
    argv[i + 1] = NULL;
    fflush(stdout);
    p->pid = fork();
    if (p->pid == 0) {
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
#endif
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execv(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    p->out = ends[0];
    if (p->pid < 0 || !wait_line(p, "listening on ", line, sizeof line)) return false;
    p->port = atoi(strrchr(line, ':') + 1);
    return p->port > 0;
}

/* Exit status, -1 if it did not end by itself in time. */
static int proxy_wait(proxy *p)
{
    int status = 0, i;

    for (i = 0; i < 100 * PATIENCE_S; i++) {
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            close(p->out);
            p->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        }
        nap_ms(10);
    }
    kill(p->pid, SIGKILL);
    waitpid(p->pid, &status, 0);
    close(p->out);
    return -1;
}

static int proxy_stop(proxy *p)
{
    if (p->pid <= 0) return -2;
    kill(p->pid, SIGTERM);
    return proxy_wait(p);
}

/* Until it is sent SIGCONT. */
static void stand_still(const proxy *p)
{
    int status = 0;

    kill(p->pid, SIGSTOP);
    CHECK(waitpid(p->pid, &status, WUNTRACED) == p->pid && WIFSTOPPED(status));
}

#define NEED_PROXY() \
    do { \
        if (access(program(), X_OK) != 0) SKIP("the proxy is not built (libuv and http-parser)"); \
    } while (0)

/* One request on a connection of its own, or on r's. */
static int ask_on(reader *r, const char *request, message *m)
{
    m->status = 0;
    m->body = NULL;
    if (!send_text(r->fd, request)) return -1;
    return read_message(r, m, true, strncmp(request, "HEAD", 4) == 0) ? m->status : -2;
}

static int ask(int port, const char *request, message *m)
{
    reader *r = calloc(1, sizeof *r);
    int status;

    memset(m, 0, sizeof *m);
    r->fd = connect_to(port);
    status = r->fd < 0 ? -3 : ask_on(r, request, m);
    if (r->fd >= 0) close(r->fd);
    free(r);
    return status;
}

static int get(int port, const char *target)
{
    char request[200];
    static message m;
    int status;

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    status = ask(port, request, &m);
    if (status > 0 && !m.whole && !m.last) status = -4;
    free(m.body);
    return status;
}

static int post(int port, const char *target)
{
    char request[200];
    static message m;
    int status;

    snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", target);
    status = ask(port, request, &m);
    free(m.body);
    return status;
}

/* ---- what is passed on ---------------------------------------------------------------------------------------- */

TEST(forwards_and_keeps_connections)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader r;
    static message m;
    int i;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port);
    for (i = 0; i < 20; i++) {
        CHECK_EQ_I(ask_on(&r, "GET /len/10 HTTP/1.1\r\nHost: here\r\nX-A: b\r\n\r\n", &m), 200);
        CHECK(m.whole && m.size == 10 && is_body(m.body, 10) && !m.last);
        free(m.body);
    }
    CHECK_EQ_I(s->connections, 1);
    CHECK_EQ_I(s->requests, 20);
    CHECK(has(s->last, "GET /len/10 HTTP/1.1\r\n") && has(s->last, "Host: here\r\n") && has(s->last, "X-A: b\r\n"));
    CHECK(has(s->last, "X-Forwarded-For: 127.0.0.1\r\n") && has(s->last, "Via: "));
    close(r.fd);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

static void check_body(int port, size_t size, bool up_in_chunks, bool down_in_chunks)
{
    char *body = make_body(size), head[200];
    reader *r = calloc(1, sizeof *r);
    static message m;

    r->fd = connect_to(port);
    snprintf(head, sizeof head, "PUT /echo%s HTTP/1.1\r\nHost: a\r\n", down_in_chunks ? "/chunk/" : "");
    send_text(r->fd, head);
    if (up_in_chunks) {
        CHECK(send_text(r->fd, "Transfer-Encoding: chunked\r\n\r\n") && send_chunks(r->fd, body, size));
    } else {
        snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", size);
        CHECK(send_text(r->fd, head) && send_all(r->fd, body, size));
    }
    CHECK(read_message(r, &m, true, false));
    CHECK_EQ_I(m.status, 200);
    CHECK(m.whole && !m.last);
    CHECK_EQ_I(m.size, size);
    CHECK(m.size == size && is_body(m.body, size));
    CHECK_EQ_I(has(m.head, "Transfer-Encoding: chunked"), down_in_chunks);
    free(m.body);
    close(r->fd);
    free(r);
    free(body);
}

TEST(bodies_both_ways)
{
    static const size_t sizes[] = { 0, 1, 2, HOLD - 1, HOLD, HOLD + 1, 300000, BIG };
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    int32_t i;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    for (i = 0; i < 8; i++) {
        check_body(p.port, sizes[i], false, false);
        if (sizes[i] == BIG) continue;
        check_body(p.port, sizes[i], true, false);
        check_body(p.port, sizes[i], false, true);
        check_body(p.port, sizes[i], true, true);
    }
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

TEST(answers_without_a_body_and_old_clients)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader r;
    static message m;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port);
    CHECK_EQ_I(ask_on(&r, "HEAD /len/5000000 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
    CHECK(has(m.head, "Content-Length: 5000000\r\n"));
    CHECK_EQ_I(ask_on(&r, "GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 204);
    CHECK_EQ_I(ask_on(&r, "GET /status/304 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 304);
    CHECK_EQ_I(ask_on(&r, "GET /interim/3 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
    CHECK(m.whole && m.size == 3);
    free(m.body);
    CHECK_EQ_I(ask_on(&r, "GET /close/100000 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200); /* in chunks */
    CHECK(m.whole && m.size == 100000 && is_body(m.body, m.size) && has(m.head, "chunked"));
    free(m.body);
    CHECK_EQ_I(ask_on(&r, "GET /len/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &m), 200);
    CHECK(m.last && m.size == 7);
    free(m.body);
    CHECK(is_closed(r.fd, 1000 * PATIENCE_S));
    close(r.fd);
    CHECK_EQ_I(ask(p.port, "GET /len/7 HTTP/1.0\r\n\r\n", &m), 200);
    CHECK(m.last && m.size == 7);
    free(m.body);
    CHECK_EQ_I(ask(p.port, "GET /chunk/70000 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", &m), 200);
    CHECK(m.last && m.size == 70000 && is_body(m.body, m.size) && !has(m.head, "chunked"));
    free(m.body);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

TEST(pipelined_requests_are_answered_in_turn)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static char all[60000];
    static reader r;
    static message m;
    size_t size = 0, at;
    int i, round;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    for (i = 0; i < 400; i++) {
        size += (size_t)snprintf(all + size, sizeof all - size, "%s /%s/%d HTTP/1.1\r\nHost: a\r\n%s",
                                 i % 5 == 2 ? "POST" : "GET", i % 3 ? "len" : "chunk", i,
                                 i % 5 == 2 ? "Content-Length: 5\r\n\r\nGET /" : "\r\n");
    }
    for (round = 0; round < 2; round++) { /* at once, and in small pieces */
        memset(&r, 0, sizeof r);
        r.fd = connect_to(p.port);
        for (at = 0; at < size; at += round ? 97 : size) {
            CHECK(send_all(r.fd, all + at, round && size - at > 97 ? 97 : size - at));
        }
        for (i = 0; i < 400; i++) {
            REQUIRE(read_message(&r, &m, true, false));
            CHECK(m.status == 200 && m.whole && m.size == (size_t)i && is_body(m.body, m.size));
            free(m.body);
        }
        close(r.fd);
    }
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

TEST(expect_continue)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader r;
    static message m;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port);
    CHECK_EQ_I(ask_on(&r, "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", &m),
               100);
    CHECK_EQ_I(ask_on(&r, "abcd", &m), 200);
    CHECK(m.size == 4 && !has(s->last, "Expect"));
    free(m.body);
    close(r.fd);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

TEST(broken_requests_are_refused_and_harm_nobody)
{
    static const struct { const char *text; int status; } bad[] = {
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "nonsense\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400 },
        { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413 },
    };
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader r;
    static message m;
    int32_t i;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    for (i = 0; i < 5; i++) {
        memset(&r, 0, sizeof r);
        r.fd = connect_to(p.port);
        CHECK_EQ_I(ask_on(&r, bad[i].text, &m), bad[i].status);
        CHECK(m.last);
        free(m.body);
        CHECK(is_closed(r.fd, 1000 * PATIENCE_S));
        close(r.fd);
        CHECK_EQ_I(get(p.port, "/len/1"), 200);
    }
    CHECK_EQ_I(s->requests, 5);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

/* ---- what is tried again -------------------------------------------------------------------------------------- */

/* Two servers in turn, one of them in a mood; how many of so many requests went well. */
static int went_well(mood how, bool with_post, const char *target, int count, int *posts)
{
    server *s = server_start(0, how), *good = server_start(0, GOOD);
    proxy p = proxy_new();
    int i, ok = 0;

    flag(&p, "--policy", "round_robin");
    add_server(&p, 0, s->port, "");
    add_server(&p, 1, good->port, "");
    if (!proxy_start(&p)) return -1;
    for (i = 0; i < count; i++) ok += (with_post ? post(p.port, target) : get(p.port, target)) == 200;
    if (posts) *posts = s->posts + good->posts;
    if (proxy_stop(&p) != 0) ok = -1000;
    server_stop(s);
    server_stop(good);
    return ok;
}

TEST(tries_another_server)
{
    int posts = 0, ok;

    NEED_PROXY();
    CHECK_EQ_I(went_well(DIES, false, "/len/10", 12, NULL), 12);
    CHECK_EQ_I(went_well(CUTS, false, "/len/60000", 12, NULL), 12); /* held until whole */
    CHECK_EQ_I(went_well(BUSY, false, "/len/10", 12, NULL), 12);
    ok = went_well(ERRS, false, "/len/10", 12, NULL);               /* a 500 is an answer */
    CHECK(ok >= 5 && ok < 12);
    ok = went_well(DIES, true, "/len/10", 12, &posts);              /* may have been carried out */
    CHECK(ok >= 5 && ok < 12);
    CHECK_EQ_I(posts, 12);                                          /* never sent twice */
    ok = went_well(BUSY, true, "/len/10", 12, &posts);
    CHECK(ok >= 5 && ok < 12);
    CHECK_EQ_I(posts, 12);
}

TEST(no_connection_is_tried_again_for_any_method)
{
    server *good = server_start(0, GOOD);
    proxy p = proxy_new();
    int i, ok = 0;

    NEED_PROXY();
    flag(&p, "--policy", "round_robin");
    add_server(&p, 0, dead_port(), "");
    add_server(&p, 1, good->port, "");
    REQUIRE(proxy_start(&p));
    for (i = 0; i < 10; i++) ok += post(p.port, "/len/10") == 200;
    CHECK_EQ_I(ok, 10);
    CHECK_EQ_I(good->posts, 10);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(good);
}

TEST(an_answer_that_breaks_off_never_looks_whole)
{
    server *s = server_start(0, CUTS);
    proxy p = proxy_new();
    static reader r;
    static message m;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    CHECK_EQ_I(ask(p.port, "GET /len/1000000 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
    CHECK(!m.whole);
    free(m.body);
    CHECK_EQ_I(ask(p.port, "GET /chunk/1000 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
    CHECK(!m.whole);
    free(m.body);
    CHECK_EQ_I(get(p.port, "/len/1000"), 502); /* held */
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port);
    CHECK_EQ_I(ask_on(&r, "GET /close/1000 HTTP/1.0\r\n\r\n", &m), 200);
    CHECK_EQ_I(r.error, ECONNRESET); /* an end by closing would look like the real one */
    free(m.body);
    close(r.fd);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

TEST(idle_connections_that_servers_close_cost_no_request)
{
    server *s = server_start(0, LEAVES);
    proxy p = proxy_new();
    int i, ok = 0, posts = 0;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    for (i = 0; i < 300; i++) {
        ok += get(p.port, "/len/10") == 200;
        if (i % 3 == 0) nap_ms(i % 4); /* as the server closes, before and after */
    }
    CHECK_EQ_I(ok, 300);
    for (i = 0; i < 20; i++) { /* never sent on a connection that is seen to be closed */
        AWAIT(s->visits == 0);
        posts += post(p.port, "/len/10") == 200;
    }
    CHECK_EQ_I(posts, 20);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

/* The proxy stands still while a request for a connection to a server comes, and that connection is closed. */
TEST(what_is_closed_by_now_gets_no_request)
{
    server *s = server_start(0, PARTS);
    proxy p = proxy_new();
    static const char request[] = "POST /len/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    static reader r;
    static message m;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port);
    CHECK_EQ_I(ask_on(&r, request, &m), 200);
    free(m.body);
    stand_still(&p);
    CHECK(send_text(r.fd, request));
    s->go = true;
    AWAIT(s->visits == 0);
    kill(p.pid, SIGCONT);
    CHECK(read_message(&r, &m, true, false) && m.status == 200);
    free(m.body);
    CHECK_EQ_I(s->posts, 2);
    CHECK_EQ_I(s->connections, 2);
    close(r.fd);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

TEST(no_server_left)
{
    int port = dead_port();
    server *s;
    proxy p = proxy_new();
    static message m;
    double start;
    int i, status = 0;

    NEED_PROXY();
    add_server(&p, 0, port, "");
    add_server(&p, 1, dead_port(), "");
    REQUIRE(proxy_start(&p));
    start = now_s();
    for (i = 0; i < 50; i++) {
        status = ask(p.port, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n", &m);
        CHECK(status == 502 || status == 503);
        CHECK(has(m.head, "Retry-After: "));
        free(m.body);
    }
    NOTE("50 answers in %.3f s", now_s() - start);
    s = server_start(port, GOOD);
    AWAIT((status = get(p.port, "/len/1")) == 200);
    CHECK_EQ_I(status, 200);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

/* ---- patience and limits -------------------------------------------------------------------------------------- */

TEST(deadlines)
{
    server *s = server_start(0, HANGS), *good = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader r, idle;
    static message m;
    double start;

    NEED_PROXY();
    flag(&p, "--policy", "round_robin");
    flag(&p, "--timeouts", "head=0.4 idle=0.6 response=0.4 connect=60 drain=1");
    add_server(&p, 0, s->port, "");
    add_server(&p, 1, good->port, "");
    REQUIRE(proxy_start(&p));
    memset(&r, 0, sizeof r);
    memset(&idle, 0, sizeof idle);
    start = now_s();
    idle.fd = connect_to(p.port);
    r.fd = connect_to(p.port);
    CHECK_EQ_I(ask_on(&r, "GET / HTTP/1.1\r\nHo", &m), 408); /* a head that never ends */
    CHECK(now_s() - start > 0.39);
    free(m.body);
    close(r.fd);
    CHECK(is_closed(idle.fd, 1000 * PATIENCE_S));
    CHECK(now_s() - start > 0.59);
    close(idle.fd);
    CHECK_EQ_I(get(p.port, "/len/1"), 200); /* the one that hangs, then the other */
    CHECK_EQ_I(get(p.port, "/len/1"), 200);
    s->mood = good->mood = HANGS;
    CHECK_EQ_I(post(p.port, "/len/1"), 504);
    CHECK_EQ_I(get(p.port, "/len/1"), 504);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
    server_stop(good);
}

/* A proxy that stood still for longer than its patience still reads what came meanwhile. If we were away before that,
   that says nothing. */
TEST(what_came_in_time_counts)
{
    server *s = server_start(0, GOOD);
    static reader r;
    static message m;
    bool late = true;
    int i, status = 0;

    NEED_PROXY();
    for (i = 0; i < 10 && late; i++) {
        proxy p = proxy_new();
        double start;
        flag(&p, "--timeouts", "idle=0.5");
        add_server(&p, 0, s->port, "");
        REQUIRE(proxy_start(&p));
        start = now_s();
        memset(&r, 0, sizeof r);
        r.fd = connect_to(p.port);
        CHECK_EQ_I(ask_on(&r, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
        free(m.body);
        stand_still(&p);
        late = now_s() - start > 0.4;
        send_text(r.fd, "GET /len/2 HTTP/1.1\r\nHost: a\r\n\r\n");
        nap_ms(700);
        kill(p.pid, SIGCONT);
        status = read_message(&r, &m, true, false) ? m.status : 0;
        free(m.body);
        close(r.fd);
        CHECK_EQ_I(proxy_stop(&p), 0);
    }
    CHECK_EQ_I(status, 200);
    server_stop(s);
}

TEST(a_client_that_goes_ends_its_request)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    int fd;

    NEED_PROXY();
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    fd = connect_to(p.port);
    send_text(fd, "GET /hold/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(s->requests > 0);
    close(fd);
    AWAIT(s->gone > 0);
    CHECK_EQ_I(s->gone, 1);
    CHECK_EQ_I(get(p.port, "/len/1"), 200);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
}

static long resident_kb(pid_t pid)
{
    char path[64], line[200];
    long kb = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmRSS:", 6) == 0) kb = atol(line + 6);
    }
    if (f) fclose(f);
    return kb;
}

/* A server that answers without end to clients that do not read; clients that send without end to a server that does
   not read. What the kernel buffers is megabytes; what must stay small is what the proxy does. */
TEST(memory_is_bounded_whoever_is_slow)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static char block[65536];
    int fd[6], i, deaf = listen_at(0), up;
    long before, after;
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    long long taken = 0;
    struct timeval soon = { 0, 300000 };

    NEED_PROXY();
    getsockname(deaf, (struct sockaddr *)&a, &size);
    flag(&p, "--policy", "maglev");
    flag(&p, "--key", "header X-To");
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    before = resident_kb(p.pid);
    for (i = 0; i < 6; i++) {
        fd[i] = connect_to(p.port);
        send_text(fd[i], "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    AWAIT(s->sent > 65536);
    nap_ms(300); /* if it grows, it does so now */
    after = resident_kb(p.pid);
    NOTE("6 floods: %lld KB sent, proxy grew by %ld KB", s->sent / 1024, after - before);
    CHECK(s->sent > 65536);
    CHECK(before < 0 || after - before < 4096 * MORE);
    for (i = 0; i < 6; i++) close(fd[i]);
    CHECK_EQ_I(proxy_stop(&p), 0);

    p = proxy_new();
    flag(&p, "--timeouts", "drain=0.5"); /* a client that is not read is not seen to go */
    add_server(&p, 0, ntohs(a.sin_port), "");
    REQUIRE(proxy_start(&p));
    before = resident_kb(p.pid);
    up = connect_to(p.port);
    setsockopt(up, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    send_text(up, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n");
    while (taken < 900000000 && send(up, block, sizeof block, MSG_NOSIGNAL) > 0) taken += (long long)sizeof block;
    after = resident_kb(p.pid);
    NOTE("deaf server: %lld KB taken, proxy grew by %ld KB", taken / 1024, after - before);
    CHECK(taken < 100000000);
    CHECK(before < 0 || after - before < 2048 * MORE);
    close(up);
    CHECK_EQ_I(proxy_stop(&p), 0);
    close(deaf);
    server_stop(s);
}

/* ---- many at once --------------------------------------------------------------------------------------------- */

typedef struct crowd {
    int port, ok;
    const char *target;
} crowd;

static void *one_of_crowd(void *self)
{
    crowd *c = self;
    char request[200];
    message *m = calloc(1, sizeof *m);
    int i;

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", c->target);
    for (i = 0; i < 5; i++) {
        c->ok += ask(c->port, request, m) == 200;
        free(m->body);
        m->body = NULL;
    }
    free(m);
    return NULL;
}

static int crowd_ok(int port, const char *target)
{
    pthread_t t[12];
    crowd c[12];
    int i, ok = 0;

    for (i = 0; i < 12; i++) {
        c[i].port = port;
        c[i].ok = 0;
        c[i].target = target;
        pthread_create(&t[i], NULL, one_of_crowd, &c[i]);
    }
    for (i = 0; i < 12; i++) {
        pthread_join(t[i], NULL);
        ok += c[i].ok;
    }
    return ok;
}

TEST(places_at_servers_and_clients_are_limited)
{
    server *s = server_start(0, GOOD), *other = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader r;
    static message m;
    int first, second, i;

    NEED_PROXY();
    flag(&p, "--clients", "2");
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    first = connect_to(p.port);
    second = connect_to(p.port);
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port); /* the kernel takes it, the proxy does not yet */
    send_text(r.fd, "GET /len/3 HTTP/1.1\r\nHost: a\r\n\r\n");
    nap_ms(150);
    CHECK_EQ_I(s->requests, 0);
    close(first);
    CHECK(read_message(&r, &m, true, false) && m.status == 200);
    free(m.body);
    close(r.fd);
    close(second);
    CHECK_EQ_I(proxy_stop(&p), 0);

    p = proxy_new();
    flag(&p, "--timeouts", "connect=60");
    add_server(&p, 0, s->port, "connections=1");
    add_server(&p, 1, other->port, "connections=2");
    REQUIRE(proxy_start(&p));
    s->requests = other->requests = s->most = other->most = 0;
    for (i = 1; i == 1 || (i <= 20 && other->most < 2); i++) { /* once, if two come to meet there */
        CHECK_EQ_I(crowd_ok(p.port, "/wait/5/10"), 60);
        CHECK_EQ_I(s->requests + other->requests, 60 * i);
    }
    CHECK_EQ_I(s->most, 1);
    CHECK_EQ_I(other->most, 2);
    CHECK_EQ_I(proxy_stop(&p), 0);
    server_stop(s);
    server_stop(other);
}

TEST(only_the_key_steers)
{
    server *s[SERVERS];
    proxy p = proxy_new();
    static message m;
    char request[200];
    int i, k, used = 0;

    NEED_PROXY();
    flag(&p, "--policy", "maglev");
    flag(&p, "--key", "header X-User");
    for (i = 0; i < SERVERS; i++) {
        s[i] = server_start(0, GOOD);
        add_server(&p, i, s[i]->port, "");
    }
    REQUIRE(proxy_start(&p));
    for (k = 0; k < 8; k++) {
        int there = -1, other = 0, n;
        for (n = 0; n < 6; n++) {
            for (i = 0; i < SERVERS; i++) s[i]->requests = 0;
            snprintf(request, sizeof request,
                     "GET /len/1?%d HTTP/1.1\r\nHost: h%d\r\nX-Other: %d\r\nX-User: u%d\r\n\r\n", n, n, n, k);
            CHECK_EQ_I(ask(p.port, request, &m), 200);
            free(m.body);
            for (i = 0; i < SERVERS && s[i]->requests == 0; i++) continue;
            other += there >= 0 && i != there;
            there = i;
        }
        CHECK_EQ_I(other, 0);
        used |= 1 << there;
    }
    CHECK((used & (used - 1)) != 0); /* eight users are not all at one */
    CHECK_EQ_I(proxy_stop(&p), 0);
    for (i = 0; i < SERVERS; i++) server_stop(s[i]);
}

/* ---- beginning and end ---------------------------------------------------------------------------------------- */

/* The proxy has heard a signal when it takes no connections any more. */
static bool refuses(int port)
{
    int fd = connect_to(port);

    if (fd >= 0) close(fd);
    return fd < 0;
}

TEST(drains)
{
    server *s = server_start(0, GOOD);
    proxy p = proxy_new();
    static reader busy;
    static message m;
    double start;
    int idle;

    NEED_PROXY();
    flag(&p, "--timeouts", "drain=3600"); /* it does not last as long as it may */
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    memset(&busy, 0, sizeof busy);
    busy.fd = connect_to(p.port);
    idle = connect_to(p.port);
    send_text(busy.fd, "GET /hold/5 HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(s->requests > 0);
    start = now_s();
    kill(p.pid, SIGTERM);
    AWAIT(refuses(p.port));
    CHECK(refuses(p.port));
    CHECK(is_closed(idle, 1000 * PATIENCE_S));
    s->go = true;
    CHECK(read_message(&busy, &m, true, false) && m.status == 200 && m.last && m.size == 5);
    free(m.body);
    close(busy.fd);
    close(idle);
    CHECK_EQ_I(proxy_wait(&p), 0);
    NOTE("drained in %.2f s", now_s() - start);
    server_stop(s);
}

/* What is on its way as the proxy begins to drain is answered. There is a second for it: if we were away for longer,
   that says nothing. */
TEST(a_kept_connection_may_ask_once_more)
{
    server *s = server_start(0, GOOD);
    static reader kept;
    static message m;
    bool late = true;
    int i, status = 0;

    NEED_PROXY();
    for (i = 0; i < 10 && late; i++) {
        proxy p = proxy_new();
        double start;
        add_server(&p, 0, s->port, "");
        REQUIRE(proxy_start(&p));
        memset(&kept, 0, sizeof kept);
        kept.fd = connect_to(p.port);
        CHECK_EQ_I(ask_on(&kept, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
        CHECK(!m.last);
        free(m.body);
        start = now_s();
        kill(p.pid, SIGTERM);
        AWAIT(refuses(p.port));
        status = ask_on(&kept, "GET /len/2 HTTP/1.1\r\nHost: a\r\n\r\n", &m);
        late = status != 200 && now_s() - start > 0.9;
        CHECK(late || (m.last && m.size == 2));
        free(m.body);
        close(kept.fd);
        CHECK_EQ_I(proxy_wait(&p), 0);
    }
    CHECK_EQ_I(status, 200);
    server_stop(s);
}

TEST(a_second_signal_ends_it_at_once)
{
    server *s = server_start(0, HANGS);
    proxy p = proxy_new();
    int fd;

    NEED_PROXY();
    flag(&p, "--timeouts", "drain=3600 response=3600");
    add_server(&p, 0, s->port, "");
    REQUIRE(proxy_start(&p));
    fd = connect_to(p.port);
    send_text(fd, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(s->requests > 0);
    kill(p.pid, SIGTERM);
    AWAIT(refuses(p.port));
    nap_ms(50);
    CHECK(waitpid(p.pid, NULL, WNOHANG) == 0); /* still waits for the answer */
    kill(p.pid, SIGTERM);
    CHECK_EQ_I(proxy_wait(&p), 0);
    close(fd);
    server_stop(s);
}

static void write_settings(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    fputs(text, f);
    fclose(f);
}

TEST(settings_are_read_again)
{
    server *s = server_start(0, GOOD), *other = server_start(0, GOOD);
    char path[] = "/tmp/test_http_proxy_XXXXXX", text[300], line[200];
    proxy p;
    static reader r;
    static message m;
    int fd = mkstemp(path), i, moved;

    NEED_PROXY();
    memset(&p, 0, sizeof p);
    close(fd);
    snprintf(text, sizeof text, "listen %s:0\nadmin off\nclients 500\nserver a %s:%d\n", host(), host(), s->port);
    write_settings(path, text);
    flag(&p, "--config", path);
    REQUIRE(proxy_start(&p));
    memset(&r, 0, sizeof r);
    r.fd = connect_to(p.port);
    CHECK_EQ_I(ask_on(&r, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200);
    free(m.body);
    CHECK_EQ_I(s->requests, 1);

    snprintf(text, sizeof text, "listen %s:0\nadmin off\nclients 500\npolicy lsq\nserver b %s:%d\n", host(), host(),
             other->port);
    write_settings(path, text);
    kill(p.pid, SIGHUP);
    CHECK(wait_line(&p, "settings read again: 1 servers, policy lsq", line, sizeof line));
    CHECK_EQ_I(ask_on(&r, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200); /* the same connection, another server */
    free(m.body);
    CHECK_EQ_I(s->requests, 1);
    CHECK_EQ_I(other->requests, 1);

    write_settings(path, "listen 127.0.0.1:0\nserver nonsense\n");
    kill(p.pid, SIGHUP);
    nap_ms(100);
    CHECK_EQ_I(get(p.port, "/len/1"), 200);
    CHECK_EQ_I(other->requests, 2);

    moved = dead_port();
    snprintf(text, sizeof text, "listen %s:%d\nadmin off\nserver a %s:%d\nserver b %s:%d\n", host(), moved, host(),
             s->port, host(), other->port);
    write_settings(path, text);
    kill(p.pid, SIGHUP);
    CHECK(wait_line(&p, "settings read again: 2 servers", line, sizeof line));
    for (i = 0; i < 20; i++) CHECK_EQ_I(get(moved, "/len/1"), 200);
    CHECK(s->requests > 1);
    CHECK_EQ_I(get(p.port, "/len/1"), -3);
    CHECK_EQ_I(ask_on(&r, "GET /len/1 HTTP/1.1\r\nHost: a\r\n\r\n", &m), 200); /* who was there stays */
    free(m.body);
    close(r.fd);
    CHECK_EQ_I(proxy_stop(&p), 0);
    unlink(path);
    server_stop(s);
    server_stop(other);
}
