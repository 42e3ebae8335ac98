/* lines.c - what HAProxy says, read

   Whatever the bytes: nothing outside [line, line + size) is read, and what does not fit the grammar is refused. */

#include "companion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cursor {
    const char *at, *end;
} cursor;

static bool take(cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

/* Up to fifteen digits. */
static bool whole(cursor *c, uint64_t *out)
{
    const char *from = c->at;

    for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - from < 16; c->at++) {
        *out = 10 * *out + (uint64_t)(*c->at - '0');
    }
    return c->at > from && c->at - from < 16;
}

/* -1, or 0 to 999,999,999. */
static bool number(cursor *c, int32_t *out)
{
    uint64_t n;

    if (take(c, '-')) {
        *out = -1;
        return take(c, '1') && (c->at == c->end || *c->at < '0' || *c->at > '9');
    }
    if (!whole(c, &n) || n > 999999999) return false;
    *out = (int32_t)n;
    return true;
}

/* Printable bytes up to a separator or the end. */
static bool word(cursor *c, char separator, char *out, size_t room)
{
    const char *from = c->at;
    size_t n;

    while (c->at < c->end && *c->at != separator && *c->at > ' ' && *c->at < 127) c->at++;
    n = (size_t)(c->at - from);
    if (n == 0 || n >= room) return false;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

bool hx_name_ok(const char *name)
{
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
    size_t n = strlen(name);

    return n > 0 && n < HX_NAME_MOST && strspn(name, allowed) == n;
}

/* ---- log lines -------------------------------------------------------------------------------------------------- */

/* Behind "BACKEND/" of the first word that begins so. */
static bool find(cursor *c, const char *backend)
{
    size_t n = strlen(backend);

    while ((size_t)(c->end - c->at) > n) {
        if (memcmp(c->at, backend, n) == 0 && c->at[n] == '/') {
            c->at += n + 1;
            return true;
        }
        c->at = memchr(c->at, ' ', (size_t)(c->end - c->at));
        if (!c->at) return false;
        c->at++;
    }
    return false;
}

/* Of `option httplog` the bytes and two cookies stand between status and cause. Cookies are the client's words: only
   where none are captured is it plain where they end. */
static bool bytes_and_cookies(cursor *c)
{
    uint64_t bytes;

    if (c->at == c->end || *c->at < '0' || *c->at > '9') return true;
    return whole(c, &bytes) && take(c, ' ') && take(c, '-') && take(c, ' ') && take(c, '-') && take(c, ' ');
}

static bool timers(cursor *c, hx_log *l)
{
    return number(c, &l->tr) && take(c, '/') && number(c, &l->tw) && take(c, '/') && number(c, &l->tc) &&
           take(c, '/') && number(c, &l->tresponse) && take(c, '/') && number(c, &l->ta) && take(c, ' ');
}

static bool ending(cursor *c, hx_log *l)
{
    char cause[5];

    if (!number(c, &l->status) || !take(c, ' ') || !bytes_and_cookies(c)) return false;
    if (!word(c, ' ', cause, sizeof cause) || !take(c, ' ')) return false;
    l->cause = cause[0];
    return true;
}

/* %ac/%fc/%bc/%sc/%rc %sq/%bq, where %rc has a plus if the request was sent elsewhere first. */
static bool counts(cursor *c, hx_log *l)
{
    int32_t other, retries, before_server, before_backend;
    bool ok = number(c, &other) && take(c, '/') && number(c, &other) && take(c, '/') && number(c, &other) &&
              take(c, '/') && number(c, &l->at_server) && take(c, '/');

    if (!ok) return false;
    take(c, '+');
    ok = number(c, &retries) && take(c, ' ') && number(c, &before_server) && take(c, '/') && number(c, &before_backend);
    if (!ok || before_server < 0 || before_backend < 0) return false;
    l->queued = before_backend;
    return c->at == c->end || *c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\0';
}

hx_line hx_log_read(const char *backend, const char *line, size_t size, hx_log *out)
{
    cursor c = { line, line + size };

    memset(out, 0, sizeof *out);
    if (!find(&c, backend)) return HX_LINE_OTHER;
    if (c.at < c.end && *c.at == '<') return HX_LINE_OTHER; /* <NOSRV>, <STATS> and the like */
    if (!word(&c, ' ', out->server, sizeof out->server) || !hx_name_ok(out->server) || !take(&c, ' ')) {
        return HX_LINE_WRONG;
    }
    return timers(&c, out) && ending(&c, out) && counts(&c, out) ? HX_LINE_TAKEN : HX_LINE_WRONG;
}

/* ---- statistics ------------------------------------------------------------------------------------------------- */

/* The next line, without its end. False: there is none. */
static bool next_line(cursor *all, cursor *line)
{
    const char *end;

    if (all->at == all->end) return false;
    end = memchr(all->at, '\n', (size_t)(all->end - all->at));
    line->at = all->at;
    line->end = end ? end : all->end;
    all->at = end ? end + 1 : all->end;
    return true;
}

/* The next field. Fields with quotes hold descriptions: what is in them is of no interest, but where they end is. */
static bool next_field(cursor *line, char separator, cursor *field)
{
    bool quoted = false;

    if (!line->at) return false;
    field->at = line->at;
    for (field->end = line->at; field->end < line->end && (quoted || *field->end != separator); field->end++) {
        if (*field->end == '"') quoted = !quoted;
    }
    line->at = field->end < line->end ? field->end + 1 : NULL;
    return true;
}

static bool is(const cursor *field, const char *text)
{
    size_t n = strlen(text);

    return (size_t)(field->end - field->at) == n && memcmp(field->at, text, n) == 0;
}

enum { COLUMNS_MOST = 12 };

/* place[i]: which field the name[i] is of the header, or -1. Answers how many were found. */
static int32_t columns(cursor header, char separator, const char *const *name, int32_t *place)
{
    int32_t i, at, found = 0;
    cursor field;

    for (i = 0; name[i]; i++) place[i] = -1;
    for (at = 0; next_field(&header, separator, &field); at++) {
        for (i = 0; name[i]; i++) {
            if (place[i] >= 0 || !is(&field, name[i])) continue;
            place[i] = at;
            found++;
        }
    }
    return found;
}

static void fields(cursor line, char separator, const char *const *name, const int32_t *place, cursor *out)
{
    int32_t i, at;
    cursor field;

    for (i = 0; name[i]; i++) out[i].at = out[i].end = line.end;
    for (at = 0; next_field(&line, separator, &field); at++) {
        for (i = 0; name[i]; i++) {
            if (place[i] == at) out[i] = field;
        }
    }
}

/* An empty field is 0. */
static bool count_of(cursor field, uint64_t *out)
{
    *out = 0;
    if (field.at == field.end) return true;
    return whole(&field, out) && field.at == field.end;
}

static bool small(cursor field, int32_t *out)
{
    uint64_t n;

    if (!count_of(field, &n) || n > 999999999) return false;
    *out = (int32_t)n;
    return true;
}

static bool name_of(cursor field, char *out)
{
    if (!word(&field, '\0', out, HX_NAME_MOST) || field.at != field.end) return false;
    return hx_name_ok(out);
}

enum { STAT_BACKEND, STAT_NAME, STAT_QUEUE, STAT_FLIGHT, STAT_TOTAL, STAT_REDISPATCHED, STAT_BACKUP, STAT_TYPE };
static const char *const stat_name[] = { "# pxname", "svname", "qcur", "scur", "stot", "wredis", "bck", "type", NULL };
enum { STATE_BACKEND, STATE_NAME, STATE_RUNS, STATE_ADMIN, STATE_WEIGHT, STATE_CONFIGURED };
static const char *const state_name[] = { "be_name", "srv_name", "srv_op_state", "srv_admin_state", "srv_uweight",
                                          "srv_iweight", NULL };

static int32_t place_of(const hx_report *r, const char *name)
{
    int32_t i;

    for (i = 0; i < r->count && strcmp(r->server[i].name, name) != 0; i++) {}
    return i;
}

/* One line of `show stat`. What cannot be used is left out. */
static void stat_line(const char *backend, cursor line, const int32_t *place, hx_report *r)
{
    cursor f[COLUMNS_MOST];
    int32_t backup, type;
    hx_server s;

    memset(&s, 0, sizeof s);
    fields(line, ',', stat_name, place, f);
    if (!is(&f[STAT_BACKEND], backend)) return;
    if (!small(f[STAT_TYPE], &type) || type != 2) return; /* 2: a server */
    if (r->count == HX_SERVERS_MOST || !name_of(f[STAT_NAME], s.name) || place_of(r, s.name) < r->count ||
        !small(f[STAT_QUEUE], &s.waiting) || !small(f[STAT_FLIGHT], &s.in_flight) ||
        !count_of(f[STAT_TOTAL], &s.total) || !count_of(f[STAT_REDISPATCHED], &s.redispatched) ||
        !small(f[STAT_BACKUP], &backup)) {
        r->left_out++;
        return;
    }
    s.backup = backup > 0;
    s.weight = -1;
    r->server[r->count++] = s;
}

/* One line of `show servers state`. A server is stopped (0), starting, running or stopping (3); it may be taken out in
   many ways, each a bit. */
static void state_line(const char *backend, cursor line, const int32_t *place, hx_report *r)
{
    char name[HX_NAME_MOST];
    cursor f[COLUMNS_MOST];
    int32_t runs, admin, weight, configured, i;

    fields(line, ' ', state_name, place, f);
    if (!is(&f[STATE_BACKEND], backend) || !name_of(f[STATE_NAME], name)) return;
    i = place_of(r, name);
    if (i == r->count || !small(f[STATE_RUNS], &runs) || !small(f[STATE_ADMIN], &admin) ||
        !small(f[STATE_WEIGHT], &weight) || !small(f[STATE_CONFIGURED], &configured)) return;
    if (weight > HX_WEIGHT_MOST || configured > HX_WEIGHT_MOST) return;
    r->server[i].running = runs == 1 || runs == 2;
    r->server[i].ready = admin == 0;
    r->server[i].weight = weight;
    r->server[i].configured = configured;
}

typedef enum section { NOWHERE, STAT, STATE } section;

static void any_line(const char *backend, cursor line, section *in, int32_t *place, hx_report *r)
{
    static const char pid[] = "Pid: ";
    uint64_t n;
    cursor after;

    if (line.at < line.end && *line.at == '#') {
        cursor state = { line.at + 1, line.end };
        if (state.at < state.end && *state.at == ' ') state.at++;
        *in = NOWHERE;
        if (columns(line, ',', stat_name, place) == STAT_TYPE + 1) *in = STAT;
        else if (columns(state, ' ', state_name, place) == STATE_CONFIGURED + 1) *in = STATE;
    } else if (*in == STAT) {
        stat_line(backend, line, place, r);
    } else if (*in == STATE) {
        state_line(backend, line, place, r);
    } else if ((size_t)(line.end - line.at) > sizeof pid - 1 && memcmp(line.at, pid, sizeof pid - 1) == 0) {
        after.at = line.at + sizeof pid - 1;
        after.end = line.end;
        if (whole(&after, &n)) r->pid = (int64_t)n;
    }
}

bool hx_report_read(const char *backend, const char *text, size_t size, hx_report *out, char why[120])
{
    cursor all = { text, text + size }, line;
    int32_t place[COLUMNS_MOST], i, known = 0;
    section in = NOWHERE;

    memset(out, 0, sizeof *out);
    why[0] = '\0';
    while (next_line(&all, &line)) any_line(backend, line, &in, place, out);
    for (i = 0; i < out->count; i++) {
        if (out->server[i].weight < 0) continue; /* came between the two answers */
        if (known < i) out->server[known] = out->server[i];
        known++;
    }
    out->count = known;
    if (!out->pid) snprintf(why, 120, "show info: no Pid in the answer");
    else if (!known) snprintf(why, 120, "backend %.60s: no servers in the answer", backend);
    return !why[0];
}

/* ---- agent checks ----------------------------------------------------------------------------------------------- */

int hx_agent_read(const char *bytes, size_t size, char name[HX_NAME_MOST])
{
    cursor c = { bytes, bytes + size };
    size_t n = 0;

    while (n < size && bytes[n] != '\n' && bytes[n] != '\r') n++;
    if (n == size) return size < HX_NAME_MOST ? 0 : -1;
    c.end = bytes + n;
    return name_of(c, name) ? 1 : -1;
}
