/* traffic_sink.c - the clients; see traffic_parts.h */

#define _GNU_SOURCE /* recvmmsg, sendmmsg */

#include "traffic_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MOST = 256, GRO_BYTES = 65536, HELD_MOST = 256 /* bytes of a datagram that waits to be answered */ };
#define END_NS ((uint64_t)10000000000U)

typedef struct ut_held { /* a datagram that is worked on, or waits for that */
    uint64_t done_ns;
    ut_stamp mark;
    struct sockaddr_storage from;
    socklen_t from_size;
    uint16_t size;
    unsigned char bytes[HELD_MOST];
} held;

static struct {
    ut_client clients[CLIENTS_MOST];
    int32_t count, slots; /* slots: what each works on at a time; 0: no work, or --cpu */
    double serve_ms;
    ut_books seen;
    bool gro;
    size_t slot;  /* bytes of room for one read */
    int32_t batch;
    unsigned char *room;
    struct mmsghdr calls[UT_CALL];
    struct iovec parts[UT_CALL];
    struct sockaddr_storage from[UT_CALL];
    uint64_t control[UT_CALL][CMSG_SPACE(sizeof(int)) / sizeof(uint64_t) + 1]; /* aligned */

    struct mmsghdr back[UT_CALL]; /* answers that go out together */
    struct iovec back_parts[UT_CALL];
    int32_t back_count;

    int epoll, timer;
    uint64_t timer_ns, start_ns, last_ns, row_ns, watch_ns;
    bool any;
    ex_text rows;
    ex_csv csv;
} sink;

/* ---- work and answers -------------------------------------------------------------------------------------------- */

static void answers_out(ut_client *c)
{
    int32_t at = 0;

    while (at < sink.back_count) {
        int done = sendmmsg(c->fd, sink.back + at, (unsigned)(sink.back_count - at), 0), i;
        for (i = 0; i < done; i++) c->now.bytes_out += sink.back_parts[at + i].iov_len;
        if (done > 0) c->now.echoed += (uint64_t)done;
        else if (errno == EINTR) continue;
        at += done > 0 ? done : 1; /* whoever cannot be answered is passed over */
    }
    sink.back_count = 0;
}

static void answer(ut_client *c, unsigned char *bytes, size_t size, struct sockaddr_storage *to, socklen_t to_size)
{
    struct msghdr *m = &sink.back[sink.back_count].msg_hdr;

    memset(m, 0, sizeof *m);
    sink.back_parts[sink.back_count].iov_base = bytes;
    sink.back_parts[sink.back_count].iov_len = size;
    m->msg_iov = &sink.back_parts[sink.back_count];
    m->msg_iovlen = 1;
    m->msg_name = to;
    m->msg_namelen = to_size;
    if (++sink.back_count == UT_CALL) answers_out(c);
}

static void compute(double us)
{
    struct timespec t;
    double from_us, now_us;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    from_us = (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
    do {
        volatile uint32_t x = 1;
        int32_t i;
        for (i = 0; i < 500; i++) x = x * 1664525U + 1013904223U;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        now_us = (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
    } while (now_us < from_us + us);
}

/* The work on one takes serve_ms from the moment that a slot is free: the end of the one `slots` before it. All take
   equally long, so that they end in the order in which they came. */
static void hold(ut_client *c, const ut_stamp *s, const unsigned char *bytes, size_t size,
                 const struct sockaddr_storage *from, socklen_t from_size, uint64_t now)
{
    held *h;
    uint64_t begin = now;

    if (c->held_count == c->held_room) {
        c->now.turned_away++;
        return;
    }
    if (c->held_count >= sink.slots) {
        begin = c->held[(c->held_first + c->held_count - sink.slots) % c->held_room].done_ns;
        if (begin < now) begin = now;
    }
    h = &c->held[(c->held_first + c->held_count++) % c->held_room];
    h->done_ns = begin + (uint64_t)(sink.serve_ms * 1e6);
    h->mark = *s;
    h->from = *from;
    h->from_size = from_size;
    h->size = (uint16_t)(size < HELD_MOST ? size : HELD_MOST);
    memcpy(h->bytes, bytes, h->size);
}

static void served(ut_client *c, uint64_t now)
{
    while (c->held_count > 0 && c->held[c->held_first].done_ns <= now) {
        held *h = &c->held[c->held_first];
        ut_client_delay(c, &h->mark, now);
        if (ut_set.echo) answer(c, h->bytes, h->size, &h->from, h->from_size);
        c->held_first = (c->held_first + 1) % c->held_room;
        c->held_count--;
    }
    answers_out(c);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static void one_came(ut_client *c, unsigned char *bytes, size_t size, struct sockaddr_storage *from,
                     socklen_t from_size, uint64_t now)
{
    ut_stamp s;
    bool ours = ut_client_take(c, &sink.seen, bytes, size, now, &s);

    sink.any = true;
    sink.last_ns = now;
    if (ours && sink.slots > 0) {
        hold(c, &s, bytes, size, from, from_size, now);
        return;
    }
    if (ours && ut_set.cpu) {
        compute(ut_set.work_us);
        now = ut_now_ns();
    }
    if (ours) ut_client_delay(c, &s, now);
    if (ut_set.echo) answer(c, bytes, size, from, from_size);
}

/* The size of the datagrams that the kernel has joined into one read. */
static size_t segment_of(struct msghdr *m, size_t whole)
{
    struct cmsghdr *c;
    int size;

    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        if (size > 0) return (size_t)size;
    }
    return whole;
}

/* Answers whether there may be more. */
static bool read_some(ut_client *c)
{
    int count, i;
    uint64_t now;

    for (i = 0; i < sink.batch; i++) {
        struct msghdr *m = &sink.calls[i].msg_hdr;
        m->msg_namelen = sizeof sink.from[i];
        m->msg_control = sink.gro ? sink.control[i] : NULL;
        m->msg_controllen = sink.gro ? sizeof sink.control[i] : 0;
        m->msg_flags = 0;
    }
    count = recvmmsg(c->fd, sink.calls, (unsigned)sink.batch, MSG_DONTWAIT, NULL);
    now = ut_now_ns();
    for (i = 0; i < count; i++) {
        unsigned char *at = sink.parts[i].iov_base;
        size_t left = sink.calls[i].msg_len, segment = segment_of(&sink.calls[i].msg_hdr, left);
        do {
            size_t size = left < segment ? left : segment;
            one_came(c, at, size, &sink.from[i], sink.calls[i].msg_hdr.msg_namelen, now);
            at += size;
            left -= size;
        } while (left > 0);
    }
    answers_out(c);
    return count == sink.batch;
}

static uint64_t drops_of(int fd)
{
    uint32_t values[16] = { 0 };
    socklen_t size = sizeof values;

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &size) != 0 || size < 9 * sizeof *values) return 0;
    return values[8]; /* SK_MEMINFO_DROPS */
}

static const char sink_columns[] = "time_s,client,received,unique,duplicates,reordered,damaged,strangers,turned_away,"
                                   "bytes,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms";

static void row_client(ex_csv *csv, ut_client *c, double from_s)
{
    const ut_tally *t = &c->now;
    const uint64_t counts[] = { t->received,  t->unique,    t->duplicates,  t->reordered,
                                t->damaged,   t->strangers, t->turned_away, t->bytes };
    int32_t i;

    ex_csv_double(csv, from_s);
    ex_csv_string(csv, c->name);
    for (i = 0; i < EX_COUNT(counts); i++) ex_csv_int(csv, (int64_t)counts[i]);
    ut_row_times(csv, &t->delay);
    ut_tally_merge(&c->all, t);
    memset(&c->now, 0, sizeof c->now);
}

static void sink_rows(uint64_t now)
{
    int32_t i;

    for (i = 0; i < sink.count; i++) row_client(&sink.csv, &sink.clients[i], (double)sink.row_ns * 1e-9);
    sink.row_ns = now;
}

static void watch_lines(uint64_t now)
{
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        ut_client *c = &sink.clients[i];
        printf("%s %.6f %llu %llu %llu %.4f %.4f\n", c->name, (double)now * 1e-9,
               (unsigned long long)(c->all.received + c->now.received),
               (unsigned long long)(c->all.bytes + c->now.bytes),
               (unsigned long long)(c->all.bytes_out + c->now.bytes_out), ut_spread_ms(&c->watch, 0.5),
               ut_spread_ms(&c->watch, 0.99));
        memset(&c->watch, 0, sizeof c->watch);
    }
    fflush(stdout);
    sink.watch_ns = now;
}

/* When the next of those that are worked on is done. */
static void set_timer(void)
{
    struct itimerspec when = { { 0, 0 }, { 0, 0 } };
    uint64_t next = UINT64_MAX;
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        const ut_client *c = &sink.clients[i];
        if (c->held_count > 0 && c->held[c->held_first].done_ns < next) next = c->held[c->held_first].done_ns;
    }
    if (next == sink.timer_ns) return;
    sink.timer_ns = next;
    if (next != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(next / 1000000000U);
        when.it_value.tv_nsec = (long)(next % 1000000000U) | 1;
    }
    timerfd_settime(sink.timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static bool sink_over(uint64_t now)
{
    if (ex_interrupted()) return true;
    if (ut_set.duration_s > 0 && now >= sink.start_ns + (uint64_t)(ut_set.duration_s * 1e9)) return true;
    return ut_set.idle_s > 0 && sink.any && now >= sink.last_ns + (uint64_t)(ut_set.idle_s * 1e9);
}

static int sink_wait_ms(uint64_t now)
{
    uint64_t next = sink.row_ns + (uint64_t)(ut_set.every_s * 1e9);
    uint64_t watch = sink.watch_ns + (uint64_t)(ut_set.watch_s * 1e9);

    if (ut_set.watch_s > 0 && watch < next) next = watch;
    if (next <= now) return 0;
    next = (next - now) / 1000000U + 1;
    return next < 50 ? (int)next : 50;
}

static uint64_t received_in_all(void)
{
    uint64_t sum = 0;
    int32_t i;

    for (i = 0; i < sink.count; i++) sum += sink.clients[i].all.received + sink.clients[i].now.received;
    return sum;
}

static bool is_everywhere(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) return ((const struct sockaddr_in *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* From now on its port refuses what comes: a socket that is connected hears its peer alone, which is itself. One of all
   addresses would take a single one then, and answer from that. */
static void refuse(const ut_client *c)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    memset(&own, 0, sizeof own);
    if (getsockname(c->fd, (struct sockaddr *)&own, &size) != 0 || is_everywhere(&own)) return;
    connect(c->fd, (struct sockaddr *)&own, size);
}

/* What has come before the end is counted, and what is worked on is done: for ten seconds at most. */
static void drain(void)
{
    const struct timespec pause = { 0, 1000000 };
    uint64_t until = ut_now_ns() + END_NS;
    int32_t i;

    for (i = 0; i < sink.count; i++) refuse(&sink.clients[i]);
    for (i = 0; i < sink.count; i++) {
        while (ut_now_ns() < until && read_some(&sink.clients[i])) {}
    }
    for (i = 0; i < sink.count; i++) {
        while (sink.clients[i].held_count > 0 && ut_now_ns() < until) {
            nanosleep(&pause, NULL);
            served(&sink.clients[i], ut_now_ns());
        }
    }
}

static void sink_run(ex_progress *bar)
{
    struct epoll_event events[CLIENTS_MOST + 1];
    uint64_t now = ut_now_ns();
    int32_t i;

    sink.start_ns = sink.row_ns = sink.watch_ns = now;
    while (!sink_over(now)) {
        int count = epoll_wait(sink.epoll, events, EX_COUNT(events), sink_wait_ms(now));
        for (i = 0; i < count; i++) {
            int32_t tries = 8; /* then it is another one's turn */
            if (events[i].data.u32 == UINT32_MAX) continue;
            while (read_some(&sink.clients[events[i].data.u32]) && --tries > 0) {}
        }
        now = ut_now_ns();
        if (sink.slots > 0) {
            for (i = 0; i < sink.count; i++) served(&sink.clients[i], now);
            set_timer();
        }
        if (now >= sink.row_ns + (uint64_t)(ut_set.every_s * 1e9)) sink_rows(now);
        if (ut_set.watch_s > 0 && now >= sink.watch_ns + (uint64_t)(ut_set.watch_s * 1e9)) watch_lines(now);
        ex_progress_step(bar, (int64_t)((double)(now - sink.start_ns) * 1e-8), "%llu received",
                         (unsigned long long)received_in_all());
    }
    drain();
    sink_rows(ut_now_ns());
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static bool sink_write(const ut_tally *all, uint64_t gaps, uint64_t dropped, double seconds)
{
    const uint64_t counts[UT_M_COUNTS] = { all->received,  all->duplicates,  all->reordered, all->damaged,
                                           all->strangers, all->turned_away, dropped,        2 };
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;
    bool ok;

    ut_json_begin(&j, "sink");
    ex_json_object(&j, "settings");
    ex_json_bool(&j, "echo", ut_set.echo);
    ex_json_double(&j, "work_us", ut_set.work_us);
    ex_json_bool(&j, "cpu", ut_set.cpu);
    ex_json_string(&j, "serve", ut_set.serve);
    ex_json_int(&j, "queue", ut_set.queue);
    ex_json_int(&j, "buffer_bytes", ut_set.buffer_bytes);
    ex_json_bool(&j, "gro", sink.gro);
    ex_json_end(&j);
    ex_json_double(&j, "seconds", seconds);
    ex_json_int(&j, "gaps", (int64_t)gaps);
    ex_json_array(&j, "clients");
    for (i = 0; i < sink.count; i++) {
        ex_json_object(&j, NULL);
        ex_json_string(&j, "client", sink.clients[i].name);
        ex_json_string(&j, "address", sink.clients[i].address);
        ut_json_tally(&j, &sink.clients[i].all, drops_of(sink.clients[i].fd));
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_object(&j, "all");
    ut_json_tally(&j, all, dropped);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(ut_set.out, "results.json").text) &&
         ut_books_write(&sink.seen, counts, ex_path_join(ut_set.out, "datagrams.bin").text) &&
         ex_text_write(&sink.rows, ex_path_join(ut_set.out, "seconds.csv").text) &&
         ut_moments_write(sink.clients, sink.count);
    ex_text_free(&text);
    return ok;
}

static void sink_print(const ut_tally *all, uint64_t gaps, uint64_t dropped, double seconds)
{
    ex_table t = { 0 };
    int32_t i;

    printf("received %llu in %.3f s: unique %llu, duplicates %llu, damaged %llu; reordered %llu, strangers %llu, "
           "dropped %llu, turned away %llu; gaps %llu\n",
           (unsigned long long)all->received, seconds, (unsigned long long)all->unique,
           (unsigned long long)all->duplicates, (unsigned long long)all->damaged, (unsigned long long)all->reordered,
           (unsigned long long)all->strangers, (unsigned long long)dropped, (unsigned long long)all->turned_away,
           (unsigned long long)gaps);
    ut_table_heading(&t, "delay, ms", "received");
    for (i = 0; i < sink.count; i++) {
        ex_table_cell(&t, "%s", sink.clients[i].name);
        ex_table_cell(&t, "%llu", (unsigned long long)sink.clients[i].all.received);
        ut_table_times(&t, &sink.clients[i].all.delay);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static int sink_report(double seconds)
{
    ut_tally *all = calloc(1, sizeof *all);
    uint64_t most, dropped = 0, there = ut_books_count(&sink.seen, &most);
    int32_t i;
    bool ok = true;

    if (!all) return ex_fail("not enough memory");
    for (i = 0; i < sink.count; i++) {
        ut_tally_merge(all, &sink.clients[i].all);
        dropped += drops_of(sink.clients[i].fd);
    }
    if (ut_set.out) ok = sink_write(all, most - there, dropped, seconds);
    if (ok && !ut_set.quiet) sink_print(all, most - there, dropped, seconds);
    free(all);
    return ok ? EX_OK : EX_FAILED;
}

/* ---- from beginning to end --------------------------------------------------------------------------------------- */

/* "4x2.5": four at a time, 2.5 ms each. */
static int sink_check(void)
{
    char number[32];
    const char *x = ut_set.serve ? strchr(ut_set.serve, 'x') : NULL;
    int64_t n = 0;

    if (ut_set.cpu && !(ut_set.work_us > 0)) return ex_usage("cpu", "has no use without --work");
    if (ut_set.serve && ut_set.work_us > 0) return ex_usage("serve", "has no use with --work");
    if (ut_set.serve) {
        snprintf(number, sizeof number, "%.*s", x ? (int)(x - ut_set.serve) : 0, ut_set.serve);
        if (!x || !ex_parse_int64(number, &n) || n < 1 || n > 100000 || !ex_parse_double(x + 1, &sink.serve_ms) ||
            !(sink.serve_ms > 0) || sink.serve_ms > 1e6) {
            return ex_usage("serve", "'%.60s' is not NxMS", ut_set.serve);
        }
        sink.slots = (int32_t)n;
    } else if (ut_set.work_us > 0 && !ut_set.cpu) {
        sink.slots = 1;
        sink.serve_ms = ut_set.work_us / 1000;
    }
    return EX_GO_ON;
}

static int client_open(ut_client *c, int32_t number, int32_t port)
{
    struct epoll_event e;
    char text[300];
    ut_place at;
    int status, one = 1;

    snprintf(text, sizeof text, strchr(ut_set.host, ':') ? "[%.250s]:%d" : "%.250s:%d", ut_set.host,
             port ? (int)port : 1);
    status = ut_place_of("host", text, &at);
    if (status != EX_GO_ON) return status;
    if (at.address.ss_family == AF_INET6) ((struct sockaddr_in6 *)&at.address)->sin6_port = htons((uint16_t)port);
    else ((struct sockaddr_in *)&at.address)->sin_port = htons((uint16_t)port);
    c->fd = socket(at.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&at.address, at.size) != 0) {
        return ex_fail("%s port %d: %s", ut_set.host, (int)port, strerror(errno));
    }
    if (setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &ut_set.buffer_bytes, sizeof ut_set.buffer_bytes) != 0) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &ut_set.buffer_bytes, sizeof ut_set.buffer_bytes);
    }
    if (sink.gro && setsockopt(c->fd, SOL_UDP, UDP_GRO, &one, sizeof one) != 0) sink.gro = false;
    c->next = calloc(UT_SENDERS_MOST, sizeof *c->next);
    c->held_room = sink.slots > 0 ? sink.slots + ut_set.queue : 0;
    c->held = c->held_room ? malloc((size_t)c->held_room * sizeof *c->held) : NULL;
    if (!c->next || (c->held_room && !c->held)) return ex_fail("not enough memory for --queue");
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN;
    e.data.u32 = (uint32_t)number;
    if (epoll_ctl(sink.epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) return ex_fail("epoll: %s", strerror(errno));
    ut_name_of(c->fd, c->address);
    return EX_GO_ON;
}

static int clients_open(void)
{
    const char *at = ut_set.sink, *names = ut_set.names;
    int status = EX_GO_ON;

    while (at && status == EX_GO_ON) {
        ut_client *c = &sink.clients[sink.count];
        char text[32];
        int64_t port;
        if (sink.count == CLIENTS_MOST) return ex_usage("sink", "more than %d ports", CLIENTS_MOST);
        if (!ut_name_take(&at, text, sizeof text) || !ex_parse_int64(text, &port) || port < 0 || port > 65535) {
            return ex_usage("sink", "'%.80s' is not PORT,PORT,...", ut_set.sink);
        }
        if (!ut_set.names) snprintf(c->name, sizeof c->name, "c%d", (int)sink.count);
        else if (!ut_name_take(&names, c->name, sizeof c->name)) {
            return ex_usage("names", "one for each port of --sink");
        }
        c->fd = -1;
        status = client_open(c, sink.count, (int32_t)port);
        sink.count++;
    }
    if (status == EX_GO_ON && names) return ex_usage("names", "more than ports in --sink");
    return status;
}

static bool sink_room(void)
{
    int32_t i;

    sink.batch = ut_set.cpu && ut_set.work_us >= 20 ? 1 : UT_CALL;
    sink.slot = sink.gro ? GRO_BYTES : UT_SIZE_MOST + 1;
    sink.room = malloc((size_t)sink.batch * sink.slot);
    if (!sink.room) return ex_fail("not enough memory") == EX_OK;
    for (i = 0; i < sink.batch; i++) {
        sink.parts[i].iov_base = sink.room + (size_t)i * sink.slot;
        sink.parts[i].iov_len = sink.slot;
        sink.calls[i].msg_hdr.msg_iov = &sink.parts[i];
        sink.calls[i].msg_hdr.msg_iovlen = 1;
        sink.calls[i].msg_hdr.msg_name = &sink.from[i];
    }
    return true;
}

static int sink_open(void)
{
    struct epoll_event e;
    int32_t i;
    int status;

    ut_prepare();
    sink.gro = ut_set.gro;
    sink.csv.to = &sink.rows;
    sink.timer_ns = UINT64_MAX;
    ex_csv_header(&sink.csv, sink_columns);
    sink.epoll = epoll_create1(EPOLL_CLOEXEC);
    sink.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN | EPOLLET; /* once for each time that it rings */
    e.data.u32 = UINT32_MAX;
    if (sink.epoll < 0 || sink.timer < 0 || epoll_ctl(sink.epoll, EPOLL_CTL_ADD, sink.timer, &e) != 0) {
        return ex_fail("no timer can be had: %s", strerror(errno));
    }
    status = clients_open();
    if (status != EX_GO_ON) return status;
    if (!sink_room() || !ut_books_open(&sink.seen)) return EX_FAILED;
    for (i = 0; i < sink.count; i++) printf("client %s %s\n", sink.clients[i].name, sink.clients[i].address);
    printf("ready\n");
    fflush(stdout);
    return EX_GO_ON;
}

static void sink_close(void)
{
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        if (sink.clients[i].fd >= 0) close(sink.clients[i].fd);
        free(sink.clients[i].next);
        free(sink.clients[i].held);
        free(sink.clients[i].sent_at.of);
    }
    if (sink.epoll > 0) close(sink.epoll);
    if (sink.timer > 0) close(sink.timer);
    free(sink.room);
    ut_books_close(&sink.seen);
    ex_text_free(&sink.rows);
}

static int receive(void)
{
    ex_progress bar;
    int status = sink_open();

    if (status != EX_GO_ON) return status;
    ex_progress_start(&bar, "receiving", (int64_t)(ut_set.duration_s * 10), ut_set.quiet);
    sink_run(&bar);
    ex_progress_end(&bar, NULL);
    return sink_report((double)(ut_now_ns() - sink.start_ns) * 1e-9);
}

int ut_receive(void)
{
    int status = sink_check();

    if (status == EX_GO_ON) status = receive();
    sink_close();
    return status;
}
