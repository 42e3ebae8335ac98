/* watch.c - what went through the proxy: counters, durations of late, the access log

   Durations are counted in buckets 5 % wide, from 10 us to a quarter of an hour, in slices of a second of which the
   last ten and the one that has begun are looked at. So a quantile is right to 2.5 %, and costs nothing until it is
   asked for.

   The access log is CSV (RFC 4180), one line a request:
       time_s,client,method,target,status,server,tries,ms,bytes_in,bytes_out,ending
   time_s: Unix time of its first byte. What a client sent is written so that it cannot look like a line of its own:
   what is no plain character becomes \xHH, and so does the backslash. Lines are gathered and written each second, or
   when a buffer is half full, by libuv's threads: the loop does not wait for the disk. Where the disk does not take
   them, lines are kept until the buffers are full, then lost and counted; a line is never cut. */

#include "proxy.h"

#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SLICES = 11, BUCKETS = 378, LOG_ROOM = 1 << 20, LINE_ROOM = 8192, TARGET_SHOWN = 1024 };
#define LEAST_S 1e-5
#define WIDTH 1.05

static const char header[] = "time_s,client,method,target,status,server,tries,ms,bytes_in,bytes_out,ending\n";

/* Ends by the second. */
typedef struct late {
    uint32_t ends[SLICES][BUCKETS], failed[SLICES];
} late;

typedef struct seat {
    char name[PX_NAME_MOST];
    px_server_total total;
    late *late; /* NULL: nothing ended yet */
} seat;

typedef struct access_log {
    char path[PX_TEXT_MOST];
    int fd, next_fd;            /* -1: none; next_fd: takes over when what is being written is written */
    char *fill, *out;           /* lines are added to one while the other is written */
    size_t fill_used, out_used, out_at;
    bool writing, complained;
    uint64_t lines, lost;
    uv_fs_t request;
} access_log;

struct px_watch {
    px_proxy *proxy;
    uv_timer_t timer;
    bool closed;
    double started_s, slice_s, wall_less_clock_s; /* slice_s: when the latest slice began */
    int32_t slice, slices;                        /* slices: how many have begun, up to SLICES */
    px_total total;
    uint64_t all[BUCKETS];
    late late;
    seat seat[PX_INDEXES_MOST];
    access_log log;
};

const char *px_ending_name(px_ending e)
{
    static const char *const names[PX_ENDINGS] = { "ok", "failed", "no_server", "refused", "gone", "cut" };

    return (int)e >= 0 && e < PX_ENDINGS ? names[e] : "?";
}

/* ---- durations ------------------------------------------------------------------------------------------------- */

static int32_t bucket_of(double seconds)
{
    double i;

    if (!(seconds > LEAST_S)) return 0;
    i = log(seconds / LEAST_S) * (1 / log(WIDTH)) + 1;
    return i < BUCKETS - 1 ? (int32_t)i : BUCKETS - 1;
}

/* The middle of a bucket, by ratio. */
static double seconds_of(int32_t bucket)
{
    return LEAST_S * pow(WIDTH, (double)bucket - 0.5);
}

static void late_add(late *l, int32_t slice, double seconds, bool failed)
{
    l->ends[slice][bucket_of(seconds)]++;
    l->failed[slice] += failed;
}

static void late_clear(late *l, int32_t slice)
{
    memset(l->ends[slice], 0, sizeof l->ends[slice]);
    l->failed[slice] = 0;
}

static double quantile(const uint64_t *sums, uint64_t count, double q)
{
    uint64_t wanted = (uint64_t)ceil(q * (double)count), seen = 0;
    int32_t i;

    for (i = 0; i < BUCKETS - 1; i++) {
        seen += sums[i];
        if (seen >= wanted) break;
    }
    return seconds_of(i);
}

static void late_read(const px_watch *w, const late *l, px_late *out)
{
    uint64_t sums[BUCKETS] = { 0 }, count = 0, failed = 0;
    double span_s = px_now_s() - w->slice_s + (w->slices - 1);
    int32_t s, i;

    for (s = 0; s < SLICES; s++) {
        failed += l->failed[s];
        for (i = 0; i < BUCKETS; i++) sums[i] += l->ends[s][i];
    }
    for (i = 0; i < BUCKETS; i++) count += sums[i];
    if (span_s < 0.1) span_s = 0.1;
    out->per_s = (double)count / span_s;
    out->failed_per_s = (double)failed / span_s;
    out->p50_s = count ? quantile(sums, count, 0.5) : (double)NAN;
    out->p99_s = count ? quantile(sums, count, 0.99) : (double)NAN;
}

/* ---- the access log: lines ------------------------------------------------------------------------------------- */

static bool plain(char c)
{
    return c >= ' ' && c <= '~' && c != '\\';
}

/* A field of bytes that somebody else chose. */
static char *put_field(char *to, const char *text, int32_t size)
{
    static const char digits[] = "0123456789abcdef";
    bool quoted = false;
    int32_t i;

    for (i = 0; i < size && !quoted; i++) quoted = text[i] == ',' || text[i] == '"';
    if (quoted) *to++ = '"';
    for (i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (plain(text[i])) {
            if (text[i] == '"') *to++ = '"';
            *to++ = text[i];
        } else {
            *to++ = '\\';
            *to++ = 'x';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    if (quoted) *to++ = '"';
    return to;
}

static char *put_text(char *to, const char *text, int32_t most)
{
    int32_t size = 0;

    while (text && size < most && text[size]) size++;
    return put_field(to, text, size);
}

/* A count; sprintf would take most of the time of a line. */
static char *put_whole(char *to, int64_t value)
{
    char digits[20];
    int32_t n = 0;

    do digits[n++] = (char)('0' + (value > 0 ? value % 10 : 0));
    while ((value /= 10) > 0);
    while (n > 0) *to++ = digits[--n];
    return to;
}

/* With three places. What is negative or no time is 0. */
static char *put_thousandths(char *to, double value)
{
    int64_t n = value > 0 && value < 1e12 ? (int64_t)(1e3 * value + 0.5) : 0;

    to = put_whole(to, n / 1000);
    *to++ = '.';
    *to++ = (char)('0' + n / 100 % 10);
    *to++ = (char)('0' + n / 10 % 10);
    *to++ = (char)('0' + n % 10);
    return to;
}

static const char *name_of(const px_watch *w, int32_t server)
{
    return server >= 0 && server < PX_INDEXES_MOST ? w->seat[server].name : "";
}

/* A line of at most LINE_ROOM bytes; its length. */
static size_t line_of(const px_watch *w, const px_record *r, char line[LINE_ROOM])
{
    int32_t shown = r->target.size < TARGET_SHOWN ? r->target.size : TARGET_SHOWN;
    char *to = put_thousandths(line, r->arrived_s + w->wall_less_clock_s);

    *to++ = ',';
    to = put_text(to, r->client, 64);
    *to++ = ',';
    to = put_text(to, r->method, 32);
    *to++ = ',';
    to = put_field(to, r->target.text, shown);
    if (shown < r->target.size) to = put_text(to, "...", 3);
    *to++ = ',';
    to = put_whole(to, r->status);
    *to++ = ',';
    to = put_text(to, name_of(w, r->server), PX_NAME_MOST);
    *to++ = ',';
    to = put_whole(to, r->tries);
    *to++ = ',';
    to = put_thousandths(to, 1e3 * (r->ended_s - r->arrived_s));
    *to++ = ',';
    to = put_whole(to, r->bytes_in);
    *to++ = ',';
    to = put_whole(to, r->bytes_out);
    *to++ = ',';
    to = put_text(to, px_ending_name(r->ending), 16);
    *to++ = '\n';
    return (size_t)(to - line);
}

/* ---- the access log: file -------------------------------------------------------------------------------------- */

static void log_write(px_watch *w);

static void log_complain(access_log *l, int error)
{
    if (!l->complained) {
        ex_warn("cannot write %s: %s; lines are lost once the buffers are full", l->path, uv_strerror(error));
    }
    l->complained = true;
}

/* Puts the new file in place of the old one. The rest of a line that the old one has begun is left out. */
static void log_switch(access_log *l)
{
    if (l->fd >= 0) close(l->fd);
    l->fd = l->next_fd;
    l->next_fd = -1;
    while (l->out_at > 0 && l->out_at < l->out_used && l->out[l->out_at - 1] != '\n') l->out_at++;
}

static void log_taken(access_log *l, int64_t result)
{
    if (result < 0) {
        log_complain(l, (int)result);
        return;
    }
    l->complained = false;
    l->out_at += (size_t)result;
}

static void log_written(uv_fs_t *request)
{
    px_watch *w = request->data;
    access_log *l = &w->log;
    bool more = request->result > 0;

    log_taken(l, request->result);
    uv_fs_req_cleanup(request);
    l->writing = false;
    if (l->next_fd >= 0) log_switch(l);
    if (more) log_write(w);
}

/* Turns the buffers round if the one for writing is empty. False: there is nothing to write. */
static bool log_ready(access_log *l)
{
    char *empty = l->out;

    if (l->fd < 0) return false;
    if (l->out_at < l->out_used) return true;
    if (!l->fill_used) return false;
    l->out = l->fill;
    l->out_used = l->fill_used;
    l->out_at = 0;
    l->fill = empty;
    l->fill_used = 0;
    return true;
}

static void log_write(px_watch *w)
{
    access_log *l = &w->log;
    uv_buf_t buffer;

    if (l->writing || !log_ready(l)) return;
    buffer = uv_buf_init(l->out + l->out_at, (unsigned)(l->out_used - l->out_at));
    l->request.data = w;
    l->writing = uv_fs_write(w->proxy->loop, &l->request, l->fd, &buffer, 1, -1, log_written) == 0;
}

/* -1: said. A new file begins with the names of the columns. */
static int log_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    struct stat about;

    if (fd < 0) {
        ex_fail("cannot open the access log %s: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, &about) == 0 && about.st_size == 0 && write(fd, header, sizeof header - 1) < 0) {
        ex_warn("cannot write %s: %s", path, strerror(errno));
    }
    return fd;
}

static bool log_start(px_watch *w)
{
    const char *path = w->proxy->config.access_log;
    access_log *l = &w->log;
    int fd = -1;

    if (path[0]) fd = log_open(path);
    if (path[0] && fd < 0) return false;
    if (path[0] && !l->fill) l->fill = malloc(LOG_ROOM);
    if (path[0] && !l->out) l->out = malloc(LOG_ROOM);
    if (path[0] && (!l->fill || !l->out)) {
        close(fd);
        return ex_fail("not enough memory for the access log") == EX_OK;
    }
    if (l->next_fd >= 0) close(l->next_fd);
    l->next_fd = fd;
    if (!l->writing) log_switch(l);
    snprintf(l->path, sizeof l->path, "%s", path);
    return true;
}

static void log_add(px_watch *w, const px_record *r)
{
    access_log *l = &w->log;
    char line[LINE_ROOM];
    size_t size;

    if (!l->path[0] || !l->fill) return;
    size = line_of(w, r, line);
    if (l->fill_used + size > LOG_ROOM) {
        l->lost++;
        return;
    }
    memcpy(l->fill + l->fill_used, line, size);
    l->fill_used += size;
    l->lines++;
    if (l->fill_used > LOG_ROOM / 2 && !l->complained) log_write(w);
}

/* At the end, when the loop is over. */
static void log_finish(access_log *l)
{
    while (log_ready(l)) {
        ssize_t n = write(l->fd, l->out + l->out_at, l->out_used - l->out_at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        l->out_at += (size_t)n;
    }
    if (l->out_at < l->out_used) ex_warn("cannot write %s: %s", l->path, strerror(errno));
    if (l->fd >= 0) close(l->fd);
    free(l->fill);
    free(l->out);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* An index that another server has by now begins anew. */
static void look_at_servers(px_watch *w)
{
    const rllb_balancer *b = w->proxy->policy ? px_policy_balancer(w->proxy->policy) : NULL;
    int32_t j, used = rllb_balancer_servers(b);
    rllb_server_info info;

    for (j = 0; j < used && j < PX_INDEXES_MOST; j++) {
        seat *s = &w->seat[j];
        if (rllb_balancer_server(b, j, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) continue;
        if (strcmp(s->name, info.name) == 0) continue;
        memcpy(s->name, info.name, sizeof s->name);
        memset(&s->total, 0, sizeof s->total);
        if (s->late) memset(s->late, 0, sizeof *s->late);
    }
}

static void look_at_clocks(px_watch *w)
{
    struct timespec wall;

    clock_gettime(CLOCK_REALTIME, &wall);
    w->slice_s = px_now_s();
    w->wall_less_clock_s = (double)wall.tv_sec + 1e-9 * (double)wall.tv_nsec - w->slice_s;
}

static void each_second(uv_timer_t *timer)
{
    px_watch *w = timer->data;
    int32_t j;

    w->slice = (w->slice + 1) % SLICES;
    if (w->slices < SLICES) w->slices++;
    late_clear(&w->late, w->slice);
    for (j = 0; j < PX_INDEXES_MOST; j++) {
        if (w->seat[j].late) late_clear(w->seat[j].late, w->slice);
    }
    look_at_clocks(w);
    look_at_servers(w);
    log_write(w);
}

/* ---- what happened --------------------------------------------------------------------------------------------- */

void px_watch_request(px_watch *w, const px_record *r)
{
    double seconds = r->ended_s - r->arrived_s;
    bool failed = r->ending == PX_ENDED_FAILED || r->ending == PX_ENDED_NO_SERVER || r->ending == PX_ENDED_CUT;

    if ((int)r->ending >= 0 && r->ending < PX_ENDINGS) w->total.ended[r->ending]++;
    w->total.tried_again += r->tries > 1 ? (uint64_t)(r->tries - 1) : 0;
    w->total.bytes_in += (uint64_t)r->bytes_in;
    w->total.bytes_out += (uint64_t)r->bytes_out;
    w->total.sum_s += seconds > 0 ? seconds : 0;
    w->all[bucket_of(seconds)]++;
    late_add(&w->late, w->slice, seconds, failed);
    log_add(w, r);
}

void px_watch_attempt(px_watch *w, int32_t server, double seconds, rllb_outcome outcome)
{
    seat *s;

    if (server < 0 || server >= PX_INDEXES_MOST) return;
    s = &w->seat[server];
    if (outcome == RLLB_OUTCOME_CANCELLED) s->total.cancelled++;
    if (outcome == RLLB_OUTCOME_CANCELLED) return;
    if (outcome == RLLB_OUTCOME_OK) s->total.ok++;
    else s->total.failed++;
    s->total.sum_s += seconds > 0 ? seconds : 0;
    if (!s->late) s->late = calloc(1, sizeof *s->late);
    if (s->late) late_add(s->late, w->slice, seconds, outcome != RLLB_OUTCOME_OK);
}

void px_watch_total(const px_watch *w, px_total *out)
{
    *out = w->total;
    out->log_lines = w->log.lines;
    out->log_lost = w->log.lost;
    out->up_s = px_now_s() - w->started_s;
    late_read(w, &w->late, &out->late);
}

void px_watch_server(const px_watch *w, int32_t server, px_server_total *out)
{
    const seat *s = server >= 0 && server < PX_INDEXES_MOST ? &w->seat[server] : NULL;

    memset(out, 0, sizeof *out);
    if (s) *out = s->total;
    out->late.p50_s = out->late.p99_s = (double)NAN;
    if (s && s->late) late_read(w, s->late, &out->late);
}

void px_watch_below(const px_watch *w, const double *bounds_s, int32_t count, uint64_t *below)
{
    uint64_t seen = 0;
    int32_t i = 0, k;

    for (k = 0; k < count; k++) {
        while (i < BUCKETS && seconds_of(i) <= bounds_s[k]) seen += w->all[i++];
        below[k] = seen;
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

px_watch *px_watch_create(px_proxy *proxy)
{
    px_watch *w = calloc(1, sizeof *w);

    if (!w) ex_fail("not enough memory");
    if (!w) return NULL;
    signal(SIGXFSZ, SIG_IGN); /* a log at its limit of size is one more full disk */
    w->proxy = proxy;
    w->slices = 1;
    w->log.fd = w->log.next_fd = -1;
    look_at_clocks(w);
    w->started_s = w->slice_s;
    look_at_servers(w);
    if (!log_start(w)) {
        free(w->log.fill);
        free(w->log.out);
        free(w);
        return NULL;
    }
    uv_timer_init(proxy->loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, each_second, 1000, 1000);
    uv_unref((uv_handle_t *)&w->timer);
    return w;
}

bool px_watch_reload(px_watch *w)
{
    look_at_servers(w);
    return log_start(w);
}

static void closed(uv_handle_t *timer)
{
    px_watch *w = timer->data;

    w->closed = true;
}

void px_watch_close(px_watch *w)
{
    int32_t j;

    if (!w) return;
    uv_close((uv_handle_t *)&w->timer, closed);
    while (w->log.writing || !w->closed) uv_run(w->proxy->loop, UV_RUN_ONCE);
    log_finish(&w->log);
    for (j = 0; j < PX_INDEXES_MOST; j++) free(w->seat[j].late);
    free(w);
}
