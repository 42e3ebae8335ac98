/* line.c - what the agent writes: line protocol, with the measurements, tags, fields and types of Telegraf's inputs
   cpu, mem and net

       cpu,cpu=cpu-total,host=a usage_user=1.5,usage_system=0.5,... 1700000000000000000
       mem,host=a total=25275514880i,available=...i,...,used_percent=3.1,... 1700000000000000000
       net,host=a,interface=eth0 bytes_sent=1012326i,bytes_recv=...i,... 1700000000000000000

   Whole numbers have an i behind them, and are at most those of 63 bits, as Telegraf writes them. */

#include "agent.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct pen {
    char *at;
    size_t left;
    bool full;
} pen;

static void put(pen *p, const char *format, ...) EX_PRINTF(2, 3);

static void put(pen *p, const char *format, ...)
{
    va_list values;
    int n;

    va_start(values, format);
    n = vsnprintf(p->at, p->left, format, values);
    va_end(values);
    if (n < 0 || (size_t)n >= p->left) {
        p->full = true;
        return;
    }
    p->at += n;
    p->left -= (size_t)n;
}

static void put_whole(pen *p, const char *name, uint64_t value)
{
    put(p, "%s=%llui,", name, (unsigned long long)(value > INT64_MAX ? INT64_MAX : value));
}

/* In place of the comma that is last. A line that does not fit is none. */
static size_t end_line(pen *p, int64_t at_ns, const char *begin)
{
    p->at--;
    p->left++;
    put(p, " %lld", (long long)at_ns);
    return p->full ? 0 : (size_t)(p->at - begin);
}

size_t ua_escape(const char *text, char *out, size_t room)
{
    size_t n = 0;
    char c;

    for (; *text && n + 2 < room; text++) {
        c = *text;
        if (c == '\\' || c == 127 || ((unsigned char)c < 32)) c = '?';
        if (c == ',' || c == ' ' || c == '=') out[n++] = '\\';
        out[n++] = c;
    }
    if (room) out[n] = '\0';
    return n;
}

enum { TAG_MOST = 2 * UA_HOST_MOST };

static void put_tag(pen *p, const char *name, const char *value)
{
    char escaped[TAG_MOST];

    ua_escape(value, escaped, sizeof escaped);
    put(p, ",%s=%s", name, escaped);
}

/* ---- cpu -------------------------------------------------------------------------------------------------------- */

static uint64_t grown(uint64_t before, uint64_t now)
{
    return now > before ? now - before : 0; /* iowait is known to run backwards now and then */
}

static void without(uint64_t *all, uint64_t part)
{
    *all -= part < *all ? part : *all;
}

/* A part of it that is counted in it too, and cannot be more. */
static void split(uint64_t *all, uint64_t *part)
{
    if (*part > *all) *part = *all;
    *all -= *part;
}

static uint64_t total(const uint64_t ticks[UA_CPU_FIELDS])
{
    uint64_t all = 0;
    int i;

    for (i = 0; i < UA_GUEST; i++) all += ticks[i];
    return all;
}

size_t ua_line_cpu(const char *host, const ua_cpu *before, const ua_cpu *now, int64_t at_ns, char out[UA_LINE_MOST])
{
    static const char *const names[UA_CPU_FIELDS] = { "user", "nice", "system", "idle", "iowait", "irq", "softirq",
                                                      "steal", "guest", "guest_nice" };
    pen p = { out, UA_LINE_MOST, false };
    uint64_t ticks[UA_CPU_FIELDS], all;
    int i;

    if (before->number != now->number || total(now->ticks) <= total(before->ticks)) return 0;
    for (i = 0; i < UA_CPU_FIELDS; i++) ticks[i] = grown(before->ticks[i], now->ticks[i]);
    all = total(ticks);
    split(&ticks[UA_USER], &ticks[UA_GUEST]);
    split(&ticks[UA_NICE], &ticks[UA_GUEST_NICE]);
    if (now->number < 0) put(&p, "cpu,cpu=cpu-total");
    else put(&p, "cpu,cpu=cpu%d", (int)now->number);
    put_tag(&p, "host", host);
    put(&p, " ");
    for (i = 0; i < UA_CPU_FIELDS; i++) {
        put(&p, "usage_%s=%.10g,", names[i], 100 * (double)ticks[i] / (double)all);
    }
    return end_line(&p, at_ns, out);
}

/* ---- mem -------------------------------------------------------------------------------------------------------- */

static uint64_t used_of(const uint64_t v[UA_MEMORY_FIELDS], ua_used used)
{
    uint64_t left = v[UA_MEMORY_TOTAL];

    if (used == UA_USED_NOT_AVAILABLE) {
        without(&left, v[UA_MEMORY_AVAILABLE]);
        return left;
    }
    without(&left, v[UA_MEMORY_FREE]);
    without(&left, v[UA_MEMORY_BUFFERS]);
    without(&left, v[UA_MEMORY_CACHED]);
    return left;
}

size_t ua_line_memory(const char *host, const ua_memory *m, ua_used used, int64_t at_ns, char out[UA_LINE_MOST])
{
#define UA_MEMORY_NAME(id, kernel, field) field,
    static const char *const names[] = { UA_MEMORY(UA_MEMORY_NAME) };
    pen p = { out, UA_LINE_MOST, false };
    const uint64_t *v = m->value;
    uint64_t taken = used_of(v, used);
    double all = (double)v[UA_MEMORY_TOTAL];
    int i;

    if (!v[UA_MEMORY_TOTAL]) return 0;
    put(&p, "mem");
    put_tag(&p, "host", host);
    put(&p, " ");
    for (i = 0; i < UA_MEMORY_FIELDS; i++) put_whole(&p, names[i], v[i]);
    put_whole(&p, "used", taken);
    put(&p, "used_percent=%.10g,available_percent=%.10g,", 100 * (double)taken / all,
        100 * (double)v[UA_MEMORY_AVAILABLE] / all);
    return end_line(&p, at_ns, out);
}

/* ---- net -------------------------------------------------------------------------------------------------------- */

size_t ua_line_nic(const char *host, const ua_nic *n, int64_t at_ns, char out[UA_LINE_MOST])
{
    pen p = { out, UA_LINE_MOST, false };

    put(&p, "net");
    put_tag(&p, "host", host);
    put_tag(&p, "interface", n->name);
    put(&p, " ");
    put_whole(&p, "bytes_sent", n->bytes_sent);
    put_whole(&p, "bytes_recv", n->bytes_recv);
    put_whole(&p, "packets_sent", n->packets_sent);
    put_whole(&p, "packets_recv", n->packets_recv);
    put_whole(&p, "err_in", n->err_in);
    put_whole(&p, "err_out", n->err_out);
    put_whole(&p, "drop_in", n->drop_in);
    put_whole(&p, "drop_out", n->drop_out);
    return end_line(&p, at_ns, out);
}
