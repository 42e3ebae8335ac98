/* traffic_send.c - the generator; see traffic_parts.h */

#define _GNU_SOURCE /* recvmmsg, sendmmsg */

#include "traffic_parts.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../rllb.h"
#include "arrivals.h"

enum { BATCH = 256 }; /* datagrams made at once */

typedef struct sender {
    int fd, old_fd;   /* old: answers to its last life may still come */
    uint64_t sequence;
    int32_t first, last; /* of the datagrams at hand; -1: none */
} sender;

typedef struct piece { /* a datagram at hand */
    unsigned char bytes[UT_SIZE_MOST];
    struct iovec part;
    uint64_t at_ns;
    uint32_t sequence;
    int32_t next; /* of the same sender */
} piece;

static struct {
    ut_place to;
    int32_t size_low, size_high;
    sender *senders;
    piece *pieces; /* [BATCH] */
    int32_t at_hand, busy[BATCH], busy_count;
    ut_books sent_books;
    ex_arrivals when;
    rllb_rng what, who;
    uint64_t start_ns, next_ns, renew_ns, row_ns;
    int32_t turn, renew_turn;
    int64_t made;
    uint64_t sent, failed, refused, sent_bytes, row_sent, row_bytes; /* refused: atomic */
    int last_errno;
    ut_spread late, row_late;
    ex_text rows, answer_rows;
    ex_csv csv;

    /* Answers, of a thread of their own. */
    pthread_t thread;
    pthread_mutex_t closing; /* of a socket that the other thread may be reading */
    bool listening;
    int epoll;
    ut_client answers;
    ut_books answer_books;
    int32_t stop; /* atomic */
    uint64_t answered; /* atomic, for the main thread */
} gen = { .closing = PTHREAD_MUTEX_INITIALIZER };

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static bool socket_of(sender *s)
{
    struct epoll_event e;
    int fd = socket(gen.to.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&gen.to.address, gen.to.size) != 0) {
        if (fd >= 0) close(fd);
        return ex_fail("no socket to %s: %s", ut_set.to, strerror(errno)) == EX_OK;
    }
    if (ut_set.replies) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &ut_set.buffer_bytes, sizeof ut_set.buffer_bytes);
        memset(&e, 0, sizeof e);
        e.events = EPOLLIN;
        e.data.fd = fd;
        if (epoll_ctl(gen.epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
            close(fd);
            return ex_fail("epoll: %s", strerror(errno)) == EX_OK;
        }
    }
    if (!ut_set.replies) s->old_fd = s->fd;
    pthread_mutex_lock(&gen.closing);
    if (s->old_fd >= 0) close(s->old_fd);
    pthread_mutex_unlock(&gen.closing);
    s->old_fd = ut_set.replies ? s->fd : -1;
    s->fd = fd;
    return true;
}

/* The next sender takes a new port, when its time has come. */
static bool renew(uint64_t now)
{
    while (ut_set.life_s > 0 && now >= gen.renew_ns) {
        if (!socket_of(&gen.senders[gen.renew_turn])) return false;
        gen.renew_turn = (gen.renew_turn + 1) % ut_set.senders;
        gen.renew_ns += (uint64_t)(ut_set.life_s / ut_set.senders * 1e9);
    }
    return true;
}

static bool more_to_come(void)
{
    if (ut_set.count > 0 && gen.made >= ut_set.count) return false;
    return gen.next_ns != UINT64_MAX;
}

static void next_arrival(uint64_t now)
{
    double at_s;

    if (!(ut_set.rate > 0)) {
        bool over = ut_set.duration_s > 0 && now >= gen.start_ns + (uint64_t)(ut_set.duration_s * 1e9);
        gen.next_ns = over ? UINT64_MAX : now;
        return;
    }
    at_s = ex_arrivals_next(&gen.when);
    gen.next_ns = isfinite(at_s) ? gen.start_ns + (uint64_t)(at_s * 1e9) : UINT64_MAX;
}

static int32_t who_sends(void)
{
    if (ut_set.arrivals != EX_ARRIVALS_EVEN) return rllb_rng_below(&gen.who, ut_set.senders);
    gen.turn = (gen.turn + 1) % ut_set.senders;
    return gen.turn;
}

/* A datagram that is due, put behind the others of its sender. */
static void make(uint64_t at_ns)
{
    piece *p = &gen.pieces[gen.at_hand];
    int32_t size = gen.size_low + rllb_rng_below(&gen.what, gen.size_high - gen.size_low + 1), who = who_sends();
    sender *s = &gen.senders[who];
    ut_stamp mark;

    if (s->sequence > UINT32_MAX) { /* it has no numbers left */
        gen.next_ns = UINT64_MAX;
        return;
    }
    mark.sender = (uint32_t)(ut_set.sender_from + who);
    mark.sequence = p->sequence = (uint32_t)s->sequence++;
    mark.at_ns = p->at_ns = at_ns;
    ut_stamp_write(&mark, p->bytes, size);
    p->part.iov_base = p->bytes;
    p->part.iov_len = (size_t)size;
    p->next = -1;
    if (s->first < 0) {
        s->first = gen.at_hand;
        gen.busy[gen.busy_count++] = who;
    } else {
        gen.pieces[s->last].next = gen.at_hand;
    }
    s->last = gen.at_hand++;
    gen.made++;
}

static void was_sent(int32_t who, const piece *p, uint64_t now)
{
    uint64_t late = now > p->at_ns ? now - p->at_ns : 0;

    ut_books_mark(&gen.sent_books, (uint32_t)(ut_set.sender_from + who), p->sequence);
    gen.sent++;
    gen.sent_bytes += p->part.iov_len;
    ut_spread_add(&gen.late, late);
    gen.row_sent++;
    gen.row_bytes += p->part.iov_len;
    ut_spread_add(&gen.row_late, late);
}

/* What an error of sending means: 1 the same again, 0 it is lost. A refusal is of an earlier datagram: the kernel tells
   it now, and has not sent this one. */
static int32_t again(int32_t *tries)
{
    if (errno == EINTR) return 1;
    if (errno == ECONNREFUSED) __atomic_fetch_add(&gen.refused, 1, __ATOMIC_RELAXED);
    else gen.last_errno = errno;
    if (++*tries > 100) return 0;
    if (errno == ECONNREFUSED) return 1;
    if (errno != ENOBUFS && errno != EAGAIN) return 0;
    nanosleep(&(struct timespec){ 0, 50000 }, NULL);
    return 1;
}

/* All that a sender has at hand. */
static void send_of(int32_t who)
{
    static struct mmsghdr calls[UT_CALL];
    sender *s = &gen.senders[who];
    int32_t at = s->first, tries = 0;

    s->first = s->last = -1;
    while (at >= 0) {
        int32_t count = 0, i, k = at, done;
        uint64_t now;
        for (; k >= 0 && count < UT_CALL; k = gen.pieces[k].next) {
            memset(&calls[count].msg_hdr, 0, sizeof calls[count].msg_hdr);
            calls[count].msg_hdr.msg_iov = &gen.pieces[k].part;
            calls[count++].msg_hdr.msg_iovlen = 1;
        }
        now = ut_now_ns();
        done = sendmmsg(s->fd, calls, (unsigned)count, 0);
        for (i = 0; i < done; i++, at = gen.pieces[at].next) was_sent(who, &gen.pieces[at], now);
        if (done > 0) tries = 0;
        else if (!again(&tries)) {
            gen.failed++;
            tries = 0;
            at = gen.pieces[at].next;
        }
    }
}

static void send_all(void)
{
    int32_t i;

    for (i = 0; i < gen.busy_count; i++) send_of(gen.busy[i]);
    gen.busy_count = gen.at_hand = 0;
}

static const char sent_columns[] = "time_s,what,count,bytes,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms";

/* What was sent and how late, or what was answered and when. */
static void write_row(ex_csv *csv, double from_s, const char *what, uint64_t count, uint64_t bytes, const ut_spread *s)
{
    ex_csv_double(csv, from_s);
    ex_csv_string(csv, what);
    ex_csv_int(csv, (int64_t)count);
    ex_csv_int(csv, (int64_t)bytes);
    ut_row_times(csv, s);
}

static void generator_row(uint64_t now)
{
    if (now < gen.row_ns + (uint64_t)(ut_set.every_s * 1e9)) return;
    write_row(&gen.csv, (double)gen.row_ns * 1e-9, "sent", gen.row_sent, gen.row_bytes, &gen.row_late);
    gen.row_ns = now;
    gen.row_sent = gen.row_bytes = 0;
    memset(&gen.row_late, 0, sizeof gen.row_late);
}

/* Until the next one is due, or a tenth of a second. */
static void wait_for(uint64_t now)
{
    uint64_t until = gen.next_ns < now + 100000000U ? gen.next_ns : now + 100000000U;
    struct timespec t = { (time_t)(until / 1000000000U), (long)(until % 1000000000U) };

    if (!ut_set.spin && until > now + 2000) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static bool send_until_over(ex_progress *bar)
{
    uint64_t shown = 0, now;

    gen.start_ns = gen.row_ns = ut_now_ns();
    gen.renew_ns = gen.start_ns + (uint64_t)(ut_set.life_s / ut_set.senders * 1e9);
    next_arrival(gen.start_ns);
    while (more_to_come() && !ex_interrupted()) {
        now = ut_now_ns();
        if (!renew(now)) return false;
        while (gen.at_hand < (ut_set.rate > 0 ? BATCH : UT_CALL) && gen.next_ns <= now && more_to_come()) {
            make(gen.next_ns);
            if (gen.next_ns != UINT64_MAX) next_arrival(now);
        }
        send_all();
        generator_row(now);
        if (now > shown + 50000000U) {
            shown = now;
            ex_progress_step(bar, (int64_t)((double)(now - gen.start_ns) * 1e-8), "%llu sent, %llu answered",
                             (unsigned long long)gen.sent,
                             (unsigned long long)__atomic_load_n(&gen.answered, __ATOMIC_RELAXED));
        }
        if (more_to_come() && gen.next_ns > now) wait_for(ut_now_ns());
    }
    return true;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void answers_row(ex_csv *csv, uint64_t *row_ns, uint64_t now)
{
    ut_client *c = &gen.answers;

    write_row(csv, (double)*row_ns * 1e-9, "answers", c->now.received, c->now.bytes, &c->now.delay);
    ut_tally_merge(&c->all, &c->now);
    memset(&c->now, 0, sizeof c->now);
    *row_ns = now;
}

static void answers_take(int fd)
{
    static unsigned char room[UT_CALL][UT_SIZE_MOST + 1];
    struct mmsghdr calls[UT_CALL];
    struct iovec parts[UT_CALL];
    uint64_t now;
    int i, count;

    memset(calls, 0, sizeof calls);
    for (i = 0; i < UT_CALL; i++) {
        parts[i].iov_base = room[i];
        parts[i].iov_len = sizeof room[i];
        calls[i].msg_hdr.msg_iov = &parts[i];
        calls[i].msg_hdr.msg_iovlen = 1;
    }
    pthread_mutex_lock(&gen.closing);
    count = recvmmsg(fd, calls, UT_CALL, MSG_DONTWAIT, NULL);
    pthread_mutex_unlock(&gen.closing);
    if (count < 0 && errno == ECONNREFUSED) __atomic_fetch_add(&gen.refused, 1, __ATOMIC_RELAXED);
    now = ut_now_ns();
    for (i = 0; i < count; i++) {
        ut_stamp s;
        if (ut_client_take(&gen.answers, &gen.answer_books, room[i], calls[i].msg_len, now, &s)) {
            ut_client_delay(&gen.answers, &s, now);
        }
    }
    __atomic_store_n(&gen.answered, gen.answers.all.unique + gen.answers.now.unique, __ATOMIC_RELAXED);
}

static void *answers_run(void *unused)
{
    struct epoll_event events[UT_CALL];
    ex_csv csv = { .to = &gen.answer_rows };
    uint64_t row_ns = ut_now_ns(), now;
    int i, count;

    (void)unused;
    while (!__atomic_load_n(&gen.stop, __ATOMIC_ACQUIRE)) {
        count = epoll_wait(gen.epoll, events, UT_CALL, 20);
        for (i = 0; i < count; i++) answers_take(events[i].data.fd);
        now = ut_now_ns();
        if (now >= row_ns + (uint64_t)(ut_set.every_s * 1e9)) answers_row(&csv, &row_ns, now);
    }
    answers_row(&csv, &row_ns, ut_now_ns());
    return NULL;
}

static bool answers_start(void)
{
    sigset_t all_signals, before;
    bool ok;

    gen.epoll = epoll_create1(EPOLL_CLOEXEC);
    gen.answers.next = calloc(UT_SENDERS_MOST, sizeof *gen.answers.next);
    if (gen.epoll < 0 || !gen.answers.next || !ut_books_open(&gen.answer_books)) return ex_fail("no memory") == EX_OK;
    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    ok = pthread_create(&gen.thread, NULL, answers_run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    gen.listening = ok;
    return ok || ex_fail("no thread for answers") == EX_OK;
}

/* The last ones are on their way. */
static void answers_end(void)
{
    uint64_t until = ut_now_ns() + (uint64_t)(ut_set.linger_s * 1e9);

    if (!gen.listening) return;
    while (ut_now_ns() < until && __atomic_load_n(&gen.answered, __ATOMIC_RELAXED) < gen.sent && !ex_interrupted()) {
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
    __atomic_store_n(&gen.stop, 1, __ATOMIC_RELEASE);
    pthread_join(gen.thread, NULL);
    gen.listening = false;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static bool generator_write(double seconds)
{
    const uint64_t counts[UT_M_COUNTS] = { [UT_M_RECEIVED] = gen.sent, [UT_M_ROLE] = 1 };
    const ut_tally *a = &gen.answers.all;
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    bool ok;

    ut_json_begin(&j, "generator");
    ex_json_object(&j, "settings");
    ex_json_string(&j, "to", ut_set.to);
    ex_json_double(&j, "rate", ut_set.rate);
    ex_json_string(&j, "arrivals", ut_arrivals_names[ut_set.arrivals]);
    ex_json_string(&j, "trace", ut_set.trace);
    ex_json_int(&j, "size_least", gen.size_low);
    ex_json_int(&j, "size_most", gen.size_high);
    ex_json_int(&j, "senders", ut_set.senders);
    ex_json_int(&j, "sender_from", ut_set.sender_from);
    ex_json_double(&j, "life_s", ut_set.life_s);
    ex_json_double(&j, "duration_s", ut_set.duration_s);
    ex_json_int(&j, "count", ut_set.count);
    ex_json_bool(&j, "replies", ut_set.replies);
    ex_json_bool(&j, "spin", ut_set.spin);
    ex_json_uint(&j, "seed", ut_set.seed);
    ex_json_end(&j);
    ex_json_bool(&j, "stopped", ex_interrupted());
    ex_json_double(&j, "seconds", seconds);
    ex_json_row(&j, "counts");
    ex_json_int(&j, "sent", (int64_t)gen.sent);
    ex_json_int(&j, "failed", (int64_t)gen.failed);
    ex_json_int(&j, "refused", (int64_t)gen.refused);
    ex_json_int(&j, "answered", (int64_t)a->unique);
    ex_json_int(&j, "unanswered", ut_set.replies ? (int64_t)(gen.sent - a->unique) : 0);
    ex_json_int(&j, "answer_duplicates", (int64_t)a->duplicates);
    ex_json_int(&j, "answer_reordered", (int64_t)a->reordered);
    ex_json_int(&j, "answer_damaged", (int64_t)a->damaged);
    ex_json_int(&j, "answer_strangers", (int64_t)a->strangers);
    ex_json_int(&j, "bytes", (int64_t)gen.sent_bytes);
    ex_json_end(&j);
    ex_json_double(&j, "sent_per_s", seconds > 0 ? (double)gen.sent / seconds : 0);
    ut_json_spread(&j, "sent_late_ms", &gen.late); /* by the generator itself: part of all delays */
    ut_json_spread(&j, "answer_delay_ms", &a->delay);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(ut_set.out, "results.json").text) &&
         ut_books_write(&gen.sent_books, counts, ex_path_join(ut_set.out, "datagrams.bin").text);
    ex_text_free(&text);
    if (gen.answer_rows.size) ex_text_add(&gen.rows, gen.answer_rows.data, gen.answer_rows.size);
    return ok && ex_text_write(&gen.rows, ex_path_join(ut_set.out, "seconds.csv").text) &&
           ut_moments_write(&gen.answers, 1);
}

static void generator_print(double seconds)
{
    ex_table t = { 0 };

    printf("sent %llu in %.3f s, %.0f a second", (unsigned long long)gen.sent, seconds,
           seconds > 0 ? (double)gen.sent / seconds : 0);
    if (gen.failed) printf("; failed %llu", (unsigned long long)gen.failed);
    if (gen.refused) printf("; refused %llu", (unsigned long long)gen.refused);
    if (ut_set.replies) {
        const ut_tally *a = &gen.answers.all;
        printf("; answered %llu, unanswered %llu, twice %llu", (unsigned long long)a->unique,
               (unsigned long long)(gen.sent - a->unique), (unsigned long long)a->duplicates);
    }
    printf("\n");
    ut_table_heading(&t, "ms", "datagrams");
    ex_table_cell(&t, "sent late by");
    ex_table_cell(&t, "%llu", (unsigned long long)gen.late.count);
    ut_table_times(&t, &gen.late);
    if (ut_set.replies) {
        ex_table_cell(&t, "answered after");
        ex_table_cell(&t, "%llu", (unsigned long long)gen.answers.all.delay.count);
        ut_table_times(&t, &gen.answers.all.delay);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

/* ---- from beginning to end --------------------------------------------------------------------------------------- */

static int size_read(void)
{
    char low[32];
    const char *dash = strchr(ut_set.size, '-');
    int64_t a, b;

    snprintf(low, sizeof low, "%.*s", dash ? (int)(dash - ut_set.size) : 31, ut_set.size);
    if (!ex_parse_int64(low, &a) || !ex_parse_int64(dash ? dash + 1 : low, &b) || a > b || b > UT_SIZE_MOST) {
        return ex_usage("size", "'%.60s' is not A-B, with B at most %d", ut_set.size, UT_SIZE_MOST);
    }
    if (a < UT_SIZE_LEAST) return ex_usage("size", "%lld: the header takes %d bytes", (long long)a, UT_SIZE_LEAST);
    gen.size_low = (int32_t)a;
    gen.size_high = (int32_t)b;
    return EX_GO_ON;
}

static int generator_check(void)
{
    int status = size_read();

    if (status == EX_GO_ON) status = ut_place_of("to", ut_set.to, &gen.to);
    if (status != EX_GO_ON) return status;
    if (ut_set.sender_from + ut_set.senders > UT_SENDERS_MOST) {
        return ex_usage("sender-from", "the last sender is %d", UT_SENDERS_MOST - 1);
    }
    if (ut_set.arrivals == EX_ARRIVALS_TRACE && !ut_set.trace) return ex_usage("trace", "is missing");
    if (ut_set.arrivals != EX_ARRIVALS_TRACE && ut_set.trace) {
        return ex_usage("trace", "has no use without --arrivals trace");
    }
    if (!(ut_set.rate > 0) && ut_set.arrivals != EX_ARRIVALS_POISSON) {
        return ex_usage("rate", "0 has no use with --arrivals");
    }
    gen.when.law = ut_set.arrivals;
    gen.when.rate = ut_set.arrivals == EX_ARRIVALS_TRACE && !ex_option_given(ut_set.program, "rate") ? 0 : ut_set.rate;
    gen.when.duration_s = ut_set.duration_s;
    if (ut_set.arrivals == EX_ARRIVALS_TRACE) {
        gen.when.trace = ex_trace_read(ut_set.trace);
        if (!gen.when.trace) return EX_FAILED;
    } else if (!(ut_set.duration_s > 0)) {
        gen.when.duration_s = ut_set.count > 0 ? 1e9 : 10;
    }
    status = ex_arrivals_open(&gen.when, ut_set.trace, ut_set.seed, 0);
    ut_set.duration_s = gen.when.duration_s;
    ut_set.rate = gen.when.rate;
    return status;
}

static bool generator_open(void)
{
    int32_t i;

    ut_prepare();
    rllb_rng_init(&gen.what, ut_set.seed, 1);
    rllb_rng_init(&gen.who, ut_set.seed, 2);
    gen.csv.to = &gen.rows;
    snprintf(gen.answers.name, sizeof gen.answers.name, "answers");
    ex_csv_header(&gen.csv, sent_columns);
    gen.senders = malloc((size_t)ut_set.senders * sizeof *gen.senders);
    gen.pieces = malloc(BATCH * sizeof *gen.pieces);
    if (!gen.senders || !gen.pieces) return ex_fail("not enough memory") == EX_OK;
    for (i = 0; i < ut_set.senders; i++) gen.senders[i] = (sender){ -1, -1, 0, -1, -1 };
    if (!ut_books_open(&gen.sent_books) || (ut_set.replies && !answers_start())) return false;
    for (i = 0; i < ut_set.senders; i++) {
        if (!socket_of(&gen.senders[i])) return false;
    }
    return true;
}

static void generator_close(void)
{
    int32_t i;

    answers_end();
    for (i = 0; gen.senders && i < ut_set.senders; i++) {
        if (gen.senders[i].fd >= 0) close(gen.senders[i].fd);
        if (gen.senders[i].old_fd >= 0) close(gen.senders[i].old_fd);
    }
    if (ut_set.replies && gen.epoll > 0) close(gen.epoll);
    free(gen.senders);
    free(gen.pieces);
    free(gen.answers.next);
    free(gen.answers.sent_at.of);
    ut_books_close(&gen.sent_books);
    ut_books_close(&gen.answer_books);
    ex_arrivals_close(&gen.when);
    ex_text_free(&gen.rows);
    ex_text_free(&gen.answer_rows);
}

static int generate(void)
{
    ex_progress bar;
    double seconds;
    bool ok;

    if (!generator_open()) return EX_FAILED;
    ex_progress_start(&bar, "sending", (int64_t)(ut_set.duration_s * 10), ut_set.quiet);
    ok = send_until_over(&bar);
    seconds = (double)(ut_now_ns() - gen.start_ns) * 1e-9;
    if (gen.row_sent > 0) { /* the last row is shorter */
        write_row(&gen.csv, (double)gen.row_ns * 1e-9, "sent", gen.row_sent, gen.row_bytes, &gen.row_late);
    }
    answers_end();
    ex_progress_end(&bar, NULL);
    if (!ok) return EX_FAILED;
    if (gen.sent == 0 && gen.failed > 0) {
        return ex_fail("%s: nothing was sent: %s", ut_set.to, strerror(gen.last_errno));
    }
    if (ut_set.out && !generator_write(seconds)) return EX_FAILED;
    if (!ut_set.quiet) generator_print(seconds);
    return ex_interrupted() ? EX_FAILED : EX_OK;
}

int ut_send(void)
{
    int status = generator_check();

    if (status == EX_GO_ON) status = generate();
    generator_close();
    return status;
}
