/* wire.c - see wire.h */

#include "wire.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "options.h"

#if defined(__linux__)
#include <sys/timerfd.h>
#endif

/* ---- the alarm --------------------------------------------------------------------------------------------- */

static void fd_set_to(px_alarm *a, uint64_t at_ns)
{
#if defined(__linux__)
    struct itimerspec when = { { 0, 0 }, { 0, 0 } }; /* all zero disarms it; setting takes back that it has rung */

    if (at_ns != PX_NEVER) {
        if (at_ns == 0) at_ns = 1;
        when.it_value.tv_sec = (time_t)(at_ns / 1000000000U);
        when.it_value.tv_nsec = (long)(at_ns % 1000000000U);
    }
    timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &when, NULL);
#else
    (void)a;
    (void)at_ns;
#endif
}

static void rung(px_alarm *a)
{
    a->at_ns = PX_NEVER;
    a->ring(a->self);
    if (a->at_ns == PX_NEVER && a->fd >= 0) fd_set_to(a, PX_NEVER);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    rung(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
    rung(handle->data);
}

bool px_alarm_open(px_alarm *a, uv_loop_t *loop, void (*ring)(void *self), void *self)
{
    memset(a, 0, sizeof *a);
    a->loop = loop;
    a->ring = ring;
    a->self = self;
    a->at_ns = PX_NEVER;
    a->fd = -1;
#if defined(__linux__)
    a->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (a->fd < 0 || uv_poll_init(loop, &a->poll, a->fd) < 0) return ex_fail("no timer can be had") == EX_OK;
    a->poll.data = a;
    return uv_poll_start(&a->poll, UV_READABLE, on_poll) == 0;
#else
    (void)on_poll;
    a->timer.data = a;
    return uv_timer_init(loop, &a->timer) == 0;
#endif
}

void px_alarm_set(px_alarm *a, uint64_t at_ns)
{
    uint64_t now_ns;

    if (at_ns >= a->at_ns) return;
    a->at_ns = at_ns;
    if (a->fd >= 0) {
        fd_set_to(a, at_ns);
        return;
    }
    uv_update_time(a->loop);
    now_ns = uv_hrtime();
    uv_timer_start(&a->timer, on_timer, at_ns > now_ns ? (at_ns - now_ns + 999999) / 1000000 : 0, 0);
}

void px_alarm_close(px_alarm *a)
{
    if (a->fd < 0) {
        uv_close((uv_handle_t *)&a->timer, NULL);
        return;
    }
    uv_close((uv_handle_t *)&a->poll, NULL);
    close(a->fd);
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

typedef struct rest { /* what the socket did not take at once; the bytes follow */
    uv_write_t request;
    px_sent_fn done;
} rest;

static void on_written(uv_write_t *request, int status)
{
    rest *r = request->data;
    px_sent_fn done = r->done;
    uv_stream_t *stream = request->handle;

    free(r);
    if (status != UV_ECANCELED) done(stream, status);
}

int px_send(uv_stream_t *stream, const uv_buf_t *parts, unsigned count, px_sent_fn done)
{
    size_t size = 0, out, at = 0;
    unsigned i;
    int wrote = uv_try_write(stream, parts, count);
    uv_buf_t left;
    rest *r;

    if (wrote < 0 && wrote != UV_EAGAIN) return wrote;
    out = wrote > 0 ? (size_t)wrote : 0;
    for (i = 0; i < count; i++) size += parts[i].len;
    if (out == size) return 0;
    r = malloc(sizeof *r + size - out);
    if (!r) return UV_ENOMEM;
    left = uv_buf_init((char *)(r + 1), (unsigned)(size - out));
    for (i = 0; i < count; i++) {
        size_t skip = out < parts[i].len ? out : parts[i].len;
        memcpy(left.base + at, parts[i].base + skip, parts[i].len - skip);
        at += parts[i].len - skip;
        out -= skip;
    }
    r->done = done;
    r->request.data = r;
    wrote = uv_write(&r->request, stream, &left, 1, on_written);
    if (wrote == 0) return 1;
    free(r);
    return wrote;
}

/* ---- one header -------------------------------------------------------------------------------------------- */

void px_caught_begin(px_caught *c)
{
    c->value[0] = '\0';
    c->size = c->matched = 0;
    c->found = c->in_name = c->over = false;
}

void px_caught_name(px_caught *c, const char *name, const char *at, size_t size)
{
    size_t i;

    if (c->found) {
        c->over = true;
        return;
    }
    if (!c->in_name) c->matched = 0;
    c->in_name = true;
    for (i = 0; i < size && c->matched != SIZE_MAX; i++) {
        /* A name that differs, or is longer, never matches again. */
        if (name[c->matched] && tolower((unsigned char)at[i]) == name[c->matched]) c->matched++;
        else c->matched = SIZE_MAX;
    }
}

void px_caught_value(px_caught *c, const char *name, const char *at, size_t size)
{
    c->in_name = false;
    if (c->over || c->matched == SIZE_MAX || name[c->matched]) return;
    c->found = true;
    if (size > sizeof c->value - 1 - c->size) size = sizeof c->value - 1 - c->size;
    memcpy(c->value + c->size, at, size);
    c->size += size;
    c->value[c->size] = '\0';
}

const char *px_caught_text(px_caught *c)
{
    while (c->size > 0 && strchr(" \t", c->value[c->size - 1])) c->size--;
    c->value[c->size] = '\0';
    return c->value;
}

/* ---- the start --------------------------------------------------------------------------------------------- */

void px_wire_begin(void)
{
    struct rlimit most;

    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &most) != 0 || most.rlim_cur == most.rlim_max) return;
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
}
