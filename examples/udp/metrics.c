/* metrics.c - what is known of clients

   A reading says something of one host: percent of processor and memory, counters of bytes. Here it becomes shares of
   what the client can do, each with the time of its sample. Processor and memory are percent of the whole already;
   the network is the greater of the two directions, bytes a second over the declared capacity.

   Times. A reading carries the Unix time of its sample, by a clock that may not be ours. Old by ours counts as old;
   from the future counts as now, and that is said once for each client. What stands still grows old all the same: a
   stamp that was seen is no news. A sample older than the last is late and left out, except when the last came from
   the future and this one does not: then a clock was set right.

   Counters. Two samples make a rate. One that ran backwards has wrapped at 32 bits if that gives a rate within the
   capacity; else host or interface began anew, or there is one interface less: then this sample is only where the next
   rate starts. So is one after a jump that no link makes, and one after a long silence. */

#include "source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRANGERS_SHOWN = 3 };
#define SKEW_S 1.0           /* what is no matter of clocks yet */
#define SPAN_LEAST_S 0.05    /* between two samples of a counter: below, the noise of stamps is the rate */
#define SPAN_MOST_S 600.0    /* above, the rate says nothing of now */
#define JUMP 100.0           /* times the capacity */
#define COUNTER_MOST 1e19
#define ABSENT_S 10.0        /* of a client that other hosts' metrics came without its own */
#define BYTES_S_DEFAULT 125e6
#define CAPACITY_BYTES_MOST ((size_t)1 << 20)

/* One share; NaN: not known yet. */
typedef struct figure {
    double share;
    double stamp; /* Unix time of the sample, by its own clock; NaN: there was none */
    double at_s;  /* monotonic */
} figure;

typedef struct seat {
    bool used;
    bool ahead_said;
    bool settled; /* it has had metrics, or that it has none was said */
    char name[UD_NAME_MOST], address[64];
    ud_capacity capacity;
    figure cpu, memory, network;
    double in, out, counted; /* counters of the latest sample; its stamp */
    double since_s;          /* metrics came, none of its own; NaN: none came yet */
} seat;

struct ud_metrics {
    seat seat[UD_CLIENTS_MOST];
    int32_t seats; /* places beyond are unused */
    double stale_s;
    ud_capacity *capacity;
    int32_t capacities;
    uint64_t turn;
    char stranger[STRANGERS_SHOWN][UD_NAME_MOST]; /* hosts that are no client */
    int32_t strangers;
    double looked_s; /* for absent clients */
};

/* ---- who --------------------------------------------------------------------------------------------------------- */

static ud_capacity capacity_of(const ud_metrics *m, const char *name)
{
    ud_capacity found = { "", 0, 0, BYTES_S_DEFAULT };
    int32_t i;

    for (i = 0; i < m->capacities; i++) {
        bool named = strcmp(m->capacity[i].name, name) == 0;
        if (named || strcmp(m->capacity[i].name, "*") == 0) found = m->capacity[i];
        if (named) break;
    }
    return found;
}

void ud_metrics_forget(ud_metrics *m, int32_t client)
{
    if (client >= 0 && client < UD_CLIENTS_MOST) memset(&m->seat[client], 0, sizeof m->seat[client]);
}

void ud_metrics_name(ud_metrics *m, int32_t client, const char *name, const char *address)
{
    static const figure unknown = { UD_NAN, UD_NAN, -UD_INFINITY };
    seat *s;

    if (client < 0 || client >= UD_CLIENTS_MOST) return;
    s = &m->seat[client];
    if (s->used && strcmp(s->name, name) == 0 && strcmp(s->address, address) == 0) return;
    memset(s, 0, sizeof *s);
    s->used = true;
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->address, sizeof s->address, "%s", address);
    s->capacity = capacity_of(m, s->name);
    s->cpu = s->memory = s->network = unknown;
    s->in = s->out = s->counted = s->since_s = UD_NAN;
    if (client >= m->seats) m->seats = client + 1;
}

bool ud_metrics_client(const ud_metrics *m, int32_t client, const char **name, const char **address)
{
    if (client < 0 || client >= m->seats || !m->seat[client].used) return false;
    *name = m->seat[client].name;
    *address = m->seat[client].address;
    return true;
}

const ud_capacity *ud_metrics_capacity(const ud_metrics *m, int32_t client)
{
    return client >= 0 && client < m->seats && m->seat[client].used ? &m->seat[client].capacity : NULL;
}

/* ---- one reading ------------------------------------------------------------------------------------------------- */

static bool is_news(double last, double stamp, double unix_s)
{
    if (!(stamp <= last)) return true;
    return stamp < last && last > unix_s + SKEW_S && stamp <= unix_s + SKEW_S;
}

/* Rounding may carry a percentage a little over its ends; NaN: it is none. */
static double share_of(double percent)
{
    if (!(percent >= -1 && percent <= 101)) return UD_NAN;
    return fmin(fmax(percent / 100, 0), 1);
}

static bool figure_take(figure *p, double share, double stamp, double at_s, double unix_s)
{
    if (isnan(share) || !is_news(p->stamp, stamp, unix_s)) return false;
    p->share = share;
    p->stamp = stamp;
    p->at_s = at_s;
    return true;
}

/* Bytes a second; NaN: the two counts are not of one run. */
static double rate_of(double before, double after, double span_s, double capacity)
{
    double moved = after - before;

    if (moved < 0) {
        moved += 4294967296.0;
        if (moved < 0 || moved / span_s > capacity) return UD_NAN;
    }
    return moved / span_s > JUMP * capacity ? UD_NAN : moved / span_s;
}

static bool is_counter(double x)
{
    return x >= 0 && x < COUNTER_MOST;
}

static bool network_take(seat *s, const ud_reading *r, double at_s, double unix_s)
{
    double span_s = r->at_s - s->counted, in, out;

    if (!is_counter(r->bytes_in) || !is_counter(r->bytes_out)) return false;
    if (!is_news(s->counted, r->at_s, unix_s) || (span_s > 0 && span_s < SPAN_LEAST_S)) return false;
    if (span_s > 0 && span_s <= SPAN_MOST_S) {
        in = rate_of(s->in, r->bytes_in, span_s, s->capacity.bytes_s);
        out = rate_of(s->out, r->bytes_out, span_s, s->capacity.bytes_s);
        if (!isnan(in) && !isnan(out)) {
            s->network.share = fmax(in, out) / s->capacity.bytes_s;
            s->network.stamp = r->at_s;
            s->network.at_s = at_s;
        }
    }
    s->in = r->bytes_in;
    s->out = r->bytes_out;
    s->counted = r->at_s;
    return true;
}

static void seat_take(ud_metrics *m, seat *s, const ud_reading *r, double unix_s, double now_s)
{
    double ahead_s = r->at_s - unix_s, at_s = now_s + fmin(ahead_s, 0);
    bool news;

    news = figure_take(&s->cpu, share_of(r->cpu_percent), r->at_s, at_s, unix_s);
    news = figure_take(&s->memory, share_of(r->memory_percent), r->at_s, at_s, unix_s) || news;
    news = network_take(s, r, at_s, unix_s) || news;
    if (!news) return;
    m->turn++;
    s->settled = true;
    if (ahead_s > SKEW_S && !s->ahead_said) {
        s->ahead_said = true;
        ex_warn("metrics of %s carry times %.0f s ahead of the clock here: they count as of now", s->name, ahead_s);
    }
}

/* ---- hosts that are no client, clients that no host is of -------------------------------------------------------- */

static void stranger_note(ud_metrics *m, const char *host)
{
    int32_t i;

    for (i = 0; i < m->strangers; i++) {
        if (strcmp(m->stranger[i], host) == 0) return;
    }
    if (m->strangers < STRANGERS_SHOWN) memcpy(m->stranger[m->strangers++], host, UD_NAME_MOST);
}

/* The commonest mistake: clients are called otherwise than their hosts are in the database. */
static void absent_say(ud_metrics *m, double now_s)
{
    int32_t i;

    if (now_s < m->looked_s + 1) return;
    m->looked_s = now_s;
    for (i = 0; i < m->seats; i++) {
        seat *s = &m->seat[i];
        if (!s->used || s->settled) continue;
        if (isnan(s->since_s)) s->since_s = now_s;
        if (now_s < s->since_s + ABSENT_S) continue;
        s->settled = true;
        ex_warn("no metrics of client %s (%s)%s%s%s%s%s%s", s->name, s->address,
                m->strangers ? "; hosts that are no client: " : "", m->stranger[0], m->strangers > 1 ? ", " : "",
                m->stranger[1], m->strangers > 2 ? ", " : "", m->stranger[2]);
    }
}

void ud_metrics_take(ud_metrics *m, const ud_reading *r, double unix_s, double now_s)
{
    bool named = false, met = false;
    int32_t i;

    if (!r->host[0] || !memchr(r->host, 0, sizeof r->host) || !(r->at_s > 0 && r->at_s < 1e12)) return;
    for (i = 0; i < m->seats; i++) {
        if (!m->seat[i].used || strcmp(m->seat[i].name, r->host) != 0) continue;
        seat_take(m, &m->seat[i], r, unix_s, now_s);
        named = true;
    }
    for (i = 0; i < m->seats && !named; i++) { /* several clients may be at one address: it is their host's */
        if (!m->seat[i].used || strcmp(m->seat[i].address, r->host) != 0) continue;
        seat_take(m, &m->seat[i], r, unix_s, now_s);
        met = true;
    }
    if (!named && !met) stranger_note(m, r->host);
    absent_say(m, now_s);
}

/* ---- what is known ----------------------------------------------------------------------------------------------- */

void ud_metrics_shares(const ud_metrics *m, int32_t client, double now_s, ud_shares *out)
{
    const seat *s = client >= 0 && client < m->seats ? &m->seat[client] : NULL;

    memset(out, 0, sizeof *out);
    out->cpu = out->memory = out->network = UD_NAN;
    out->age_s = UD_INFINITY;
    out->at_s = -UD_INFINITY;
    if (!s || !s->used) return;
    out->cpu = s->cpu.share;
    out->memory = s->memory.share;
    out->network = s->network.share;
    out->at_s = fmin(fmin(s->cpu.at_s, s->memory.at_s), s->network.at_s);
    out->age_s = fmax(now_s - out->at_s, 0);
    out->known = isfinite(out->age_s) && out->age_s <= m->stale_s;
}

uint64_t ud_metrics_turn(const ud_metrics *m)
{
    return m->turn;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static bool capacities_read(ud_metrics *m, const char *path)
{
    ex_text file = { NULL, 0, 0, false };
    char why[160];
    int32_t count;

    m->capacity = calloc(UD_CLIENTS_MOST + 1, sizeof *m->capacity);
    if (!m->capacity) return ex_fail("not enough memory") == EX_OK;
    if (!ex_file_read(path, CAPACITY_BYTES_MOST, &file)) return false;
    count = ud_parse_capacity(file.data ? file.data : "", file.size, m->capacity, UD_CLIENTS_MOST + 1, why);
    ex_text_free(&file);
    if (count < 0) return ex_fail("%s:%s", path, why) == EX_OK;
    m->capacities = count;
    return true;
}

bool ud_metrics_create(const ud_config *c, ud_metrics **out)
{
    ud_metrics *m = calloc(1, sizeof *m);

    *out = NULL;
    if (!m) return ex_fail("not enough memory") == EX_OK;
    m->stale_s = c->stale_s;
    m->looked_s = -UD_INFINITY;
    if (c->capacity[0] && !capacities_read(m, c->capacity)) {
        ud_metrics_destroy(m);
        return false;
    }
    *out = m;
    return true;
}

void ud_metrics_destroy(ud_metrics *m)
{
    if (!m) return;
    free(m->capacity);
    free(m);
}
