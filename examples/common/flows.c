/* flows.c - see flows.h */

#include "flows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arrivals.h"
#include "pool.h"


const char *const ex_preset_names[] = { "seed4-a", "seed4-b", "moderate", "large", "degraded", "fleet", NULL };
const char *const ex_weights_names[] = { "preset", "capacity", "equal", NULL };
const char *const ex_switch_names[] = { "on", "off", NULL };

const char *const ex_flow_keys[] = { "jct_mean",  "jct_p50",   "jct_p90",       "jct_p99",      "jct_p999",
                                     "jain",      "jain_busy", "residual_mean", "residual_max", "completed",
                                     "rejected",  "failed",    "timed_out",     "in_flight" };

/* ---- events -------------------------------------------------------------------------------------------------- */

enum { EVENT_FIELDS = 4, FIELD_BYTES = 64 };

#define EVENT_VALUE_MAX 1e6 /* a rate without a limit would let time stand still */

/* One line into fields without the blanks around them; how many there are, fields too long are cut. */
static int32_t split_line(const char *at, size_t length, char fields[EVENT_FIELDS][FIELD_BYTES])
{
    const char *end = at + length;
    int32_t n = 0;

    memset(fields, 0, EVENT_FIELDS * FIELD_BYTES);
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        while (at < stop && (*at == ' ' || *at == '\t')) at++;
        length = (size_t)(stop - at);
        while (length > 0 && strchr(" \t\r", at[length - 1])) length--;
        if (n < EVENT_FIELDS) memcpy(fields[n], at, length < FIELD_BYTES ? length : FIELD_BYTES - 1);
        n++;
        if (!comma) return n;
        at = comma + 1;
    }
}

static void event_names(char *out, size_t size)
{
    size_t used = 0;
    int32_t i;

    out[0] = '\0';
    for (i = 0; i < RLLB_ENV_EVENT_NUM && used < size; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "",
                                 rllb_env_event_name((rllb_env_event_kind)i));
    }
}

static bool event_value(char fields[EVENT_FIELDS][FIELD_BYTES], rllb_env_event *e, char why[200])
{
    const char *name = fields[1], *text = fields[3];
    bool wanted = e->kind == RLLB_ENV_EVENT_SPEED || e->kind == RLLB_ENV_EVENT_FAIL || e->kind == RLLB_ENV_EVENT_RATE;

    e->value = 0;
    if (!wanted && *text) snprintf(why, 200, "%s takes no value, but here is '%.40s'", name, text);
    if (!wanted) return !*text;
    if (!ex_parse_double(text, &e->value) || e->value < 0 || e->value > EVENT_VALUE_MAX) {
        snprintf(why, 200, "%s wants a value from 0 to %g, not '%.40s'", name, EVENT_VALUE_MAX, text);
        return false;
    }
    if (e->kind == RLLB_ENV_EVENT_FAIL && e->value > 1) {
        snprintf(why, 200, "fail wants a share from 0 to 1, not %.40s", text);
        return false;
    }
    return true;
}

static bool event_parse(const char *at, size_t length, int32_t servers, rllb_env_event *e, char why[200])
{
    char fields[EVENT_FIELDS][FIELD_BYTES], names[120];
    int32_t n = split_line(at, length, fields), kind;
    int64_t server;

    if (n < 2 || n > EVENT_FIELDS) {
        snprintf(why, 200, "%d fields, but a row is time_s,event,server,value", (int)n);
        return false;
    }
    if (!ex_parse_double(fields[0], &e->at_s) || e->at_s < 0) {
        snprintf(why, 200, "'%.40s' is not a time in seconds", fields[0]);
        return false;
    }
    kind = rllb_env_event_of(fields[1]);
    if (kind < 0) {
        event_names(names, sizeof names);
        snprintf(why, 200, "no event is called '%.40s'; there are %s", fields[1], names);
        return false;
    }
    e->kind = (rllb_env_event_kind)kind;
    e->server = 0;
    if (e->kind == RLLB_ENV_EVENT_RATE) {
        if (*fields[2]) snprintf(why, 200, "rate is of all servers, but here is '%.40s'", fields[2]);
        return !*fields[2] && event_value(fields, e, why);
    }
    if (!ex_parse_int64(fields[2], &server) || server < 0 || server >= servers) {
        snprintf(why, 200, "'%.40s' is not a server; they are 0 to %d", fields[2], (int)servers - 1);
        return false;
    }
    e->server = (int32_t)server;
    return event_value(fields, e, why);
}

/* Blank, or a remark. */
static bool is_empty_line(const char *at, size_t length)
{
    size_t i;

    for (i = 0; i < length && strchr(" \t\r", at[i]); i++) {}
    return i == length || at[i] == '#';
}

static bool is_heading(const char *at, size_t length)
{
    static const char *const names[EVENT_FIELDS] = { "time_s", "event", "server", "value" };
    char fields[EVENT_FIELDS][FIELD_BYTES];
    int32_t i;

    if (split_line(at, length, fields) != EVENT_FIELDS) return false;
    for (i = 0; i < EVENT_FIELDS; i++) {
        if (strcmp(fields[i], names[i]) != 0) return false;
    }
    return true;
}

bool ex_events_parse(const char *text, int32_t servers, rllb_env_event **out, int32_t *count, int64_t *line,
                     char why[200])
{
    rllb_env_event *events = calloc(strlen(text) / 4 + 1, sizeof *events); /* no row is shorter */
    bool ok = events != NULL, headed = false;

    *out = NULL;
    *count = 0;
    *line = 0;
    snprintf(why, 200, "%s", ok ? "" : "not enough memory");
    while (ok && *text) {
        size_t length = strcspn(text, "\n");
        ++*line;
        if (is_empty_line(text, length)) {
            /* nothing */
        } else if (!headed) {
            ok = headed = is_heading(text, length);
            if (!ok) snprintf(why, 200, "the heading is not time_s,event,server,value");
        } else {
            ok = event_parse(text, length, servers, &events[*count], why);
            if (ok && *count > 0 && events[*count].at_s < events[*count - 1].at_s) {
                snprintf(why, 200, "time %g s comes after %g s: events must be in the order of their times",
                         events[*count].at_s, events[*count - 1].at_s);
                ok = false;
            }
            ++*count;
        }
        text += length + (text[length] == '\n');
    }
    if (ok && *count == 0) {
        snprintf(why, 200, "no events in it");
        *line = 0;
        ok = false;
    }
    if (ok) {
        *out = events;
        *line = 0;
    } else {
        free(events);
        *count = 0;
    }
    return ok;
}

/* ---- the world ----------------------------------------------------------------------------------------------- */

#define EVENTS_BYTES_MAX ((size_t)1 << 26)

static bool read_events(ex_flows *f, const char *path)
{
    ex_text text = { 0 };
    char why[200] = "it holds zero bytes, which no text does";
    int64_t line = 0;
    bool ok;

    if (!ex_file_read(path, EVENTS_BYTES_MAX, &text)) return false;
    ok = (!text.data || strlen(text.data) == text.size) &&
         ex_events_parse(text.data ? text.data : "", f->desc.count, &f->events, &f->desc.event_count, &line, why);
    if (!ok && line > 0) ex_fail("%s:%lld: %s", path, (long long)line, why);
    else if (!ok) ex_fail("%s: %s", path, why);
    f->desc.events = f->events;
    ex_text_free(&text);
    return ok;
}

/* How long a round of a trace takes, its last row as long as is usual. */
static double round_of(const rllb_env_trace *t)
{
    return t->time_s[t->count - 1] + rllb_env_trace_step_s(t);
}

static bool read_trace(ex_flows *f, const ex_flows_how *how)
{
    int32_t i;

    f->trace = ex_trace_read(how->trace_path);
    if (!f->trace) return false;
    if (f->trace->kind == RLLB_ENV_TRACE_AMOUNTS && how->round_s > 0) {
        double factor = how->round_s / round_of(f->trace);
        for (i = 0; i < f->trace->count; i++) f->trace->time_s[i] *= factor;
    }
    f->desc.trace = f->trace;
    return true;
}

rllb_guard ex_guard_off(void)
{
    rllb_guard g;

    g.floor = g.ceiling = g.rate = g.deadline_s = g.eject_failures = g.eject_rate = g.eject_s = RLLB_OFF;
    g.eject_longest_s = g.eject_share = g.panic = g.slow_start_s = g.minimum_share = g.failure_s = RLLB_OFF;
    return g;
}

/* Three tables of the same servers in one block: they differ in what balancers are told. */
static bool make_servers(ex_flows *f, const ex_flows_how *how)
{
    const rllb_env_server_desc *from = f->desc.servers;
    int32_t count = how->servers > 0 ? how->servers : f->desc.count, i, k;
    rllb_env_server_desc *all = calloc((size_t)count * EX_WEIGHTS, sizeof *all);

    if (!all) return ex_fail("not enough memory") == EX_OK;
    for (k = 0; k < EX_WEIGHTS; k++) {
        f->servers[k] = all + (size_t)k * (size_t)count;
        for (i = 0; i < count; i++) {
            rllb_env_server_desc *s = &f->servers[k][i];
            *s = from[i % f->desc.count];
            if (how->even || !(s->speed > 0)) s->speed = 1;
            if (k == EX_WEIGHTS_CAPACITY) s->weight = (float)s->cpus * s->speed;
            if (k == EX_WEIGHTS_EQUAL) s->weight = 1;
        }
    }
    f->desc.servers = f->servers[how->weights];
    f->desc.count = count;
    return true;
}

bool ex_flows_open(ex_flows *f, const ex_flows_how *how)
{
    double before;
    bool ok;

    memset(f, 0, sizeof *f);
    if (rllb_env_flows_preset((rllb_env_preset)how->preset, &f->desc) != RLLB_OK) {
        ex_fail("there is no preset %d", (int)how->preset);
        return false;
    }
    if (how->unguarded) f->desc.balancer.guard = ex_guard_off();
    before = rllb_env_flows_capacity(&f->desc);
    ok = make_servers(f, how);
    f->capacity = ok ? rllb_env_flows_capacity(&f->desc) : 0;
    if (ok && how->servers > 0) f->desc.rate *= f->capacity / before;
    ok = ok && (!how->trace_path || read_trace(f, how)) && (!how->events_path || read_events(f, how->events_path));
    if (!ok) ex_flows_close(f);
    return ok;
}

void ex_flows_close(ex_flows *f)
{
    free(f->servers[0]);
    free(f->events);
    rllb_env_trace_destroy(f->trace);
    memset(f, 0, sizeof *f);
}

void ex_flows_warn_rate(const ex_flows *f, double rate)
{
    double load = rate / f->capacity;

    if (load < 1 - 1e-9) return;
    ex_warn("%g flows/s are %.1f %% of what the servers can do (%.1f/s): queues grow for as long as it lasts, and "
            "figures depend on --duration",
            rate, 100 * load, f->capacity);
}

/* The server's group among `count` from `first` on, made if need be and room is; of more than fit, the last. */
static int32_t group_of(const rllb_env_server_desc *s, ex_group *out, int32_t first, int32_t *count, int32_t most)
{
    int32_t cpus = s->cpus > 0 ? s->cpus : 1, k;
    double speed = s->speed > 0 ? (double)s->speed : 1;
    const char *many = cpus == 1 ? "" : "s";

    for (k = first; k < *count && (out[k].cpus != cpus || fabs(out[k].speed - speed) > 1e-9); k++) {}
    if (k == most) k--;
    if (k == *count) {
        out[k].cpus = cpus;
        out[k].speed = speed;
        if (fabs(speed - 1) < 1e-9) snprintf(out[k].name, sizeof out[k].name, "%d CPU%s", (int)cpus, many);
        else snprintf(out[k].name, sizeof out[k].name, "%d CPU%s x %.3g", (int)cpus, many, speed);
        ++*count;
    }
    out[k].servers++;
    return k;
}

int32_t ex_flows_groups(const rllb_env_flows_desc *d, ex_group out[EX_GROUPS_MAX], int32_t *of)
{
    int32_t count = 0, i, k;

    memset(out, 0, EX_GROUPS_MAX * sizeof *out);
    for (i = 0; i < d->count; i++) {
        k = group_of(&d->servers[i], out, 0, &count, EX_GROUPS_MAX);
        if (of) of[i] = k;
    }
    return count;
}

/* Does an event before `events` name the server? */
static bool is_named(const rllb_env_flows_desc *d, int32_t events, int32_t server)
{
    int32_t e;

    for (e = 0; e < events; e++) {
        if (d->events[e].kind != RLLB_ENV_EVENT_RATE && d->events[e].server == server) return true;
    }
    return false;
}

int32_t ex_flows_lines(const rllb_env_flows_desc *d, ex_group out[EX_LINES_MAX], int32_t *of)
{
    int32_t named[EX_LINES_MAX - EX_GROUPS_MAX], first = 0, count, e, i, k;
    ex_group g;

    memset(out, 0, EX_LINES_MAX * sizeof *out);
    for (e = 0; e < d->event_count && first < EX_COUNT(named); e++) {
        int32_t server = d->events[e].server, none = 0;
        if (d->events[e].kind == RLLB_ENV_EVENT_RATE || is_named(d, e, server)) continue;
        memset(&g, 0, sizeof g);
        group_of(&d->servers[server], &g, 0, &none, 1);
        out[first] = g;
        snprintf(out[first].name, sizeof out[first].name, "server %d, %.18s", (int)server, g.name);
        named[first++] = server;
    }
    for (count = first, i = 0; i < d->count; i++) {
        for (k = 0; k < first && named[k] != i; k++) {}
        if (k == first) k = group_of(&d->servers[i], out, first, &count, first + EX_GROUPS_MAX);
        if (of) of[i] = k;
    }
    return count;
}

/* ---- policies ------------------------------------------------------------------------------------------------ */

enum { NUMBERS_MAX = 5 };

typedef struct numbers {
    char text[NUMBERS_MAX][24];
    int32_t count;
} numbers;

/* "(3,1.2,0)" into its parts; false: brackets that do not close, too many parts, or empty ones. */
static bool split_numbers(const char *at, numbers *out)
{
    size_t length;

    out->count = 0;
    if (!*at) return true;
    if (*at++ != '(') return false;
    for (;;) {
        length = strcspn(at, ",)");
        if (!at[length] || length == 0 || length >= sizeof out->text[0] || out->count == NUMBERS_MAX) return false;
        snprintf(out->text[out->count++], sizeof out->text[0], "%.*s", (int)length, at);
        at += length + 1;
        if (at[-1] == ')') return !*at;
    }
}

/* Number i of a policy, if there is one, in [low, high]. */
static bool take_number(const numbers *n, int32_t i, double low, double high, float *out)
{
    double value;

    if (i >= n->count) return true;
    if (!ex_parse_double(n->text[i], &value) || value < low || value > high) return false;
    *out = (float)value;
    return true;
}

/* d, a, gamma from number i on. The descriptor has 0 for "default" where a is meant to be 0. */
static bool take_draw(const numbers *n, int32_t i, rllb_balancer_desc *d)
{
    float draws = 0;
    bool ok = take_number(n, i, 1, 64, &draws) && take_number(n, i + 1, 0, 16, &d->a) &&
              take_number(n, i + 2, 0, 16, &d->gamma);

    d->d = (int32_t)draws;
    if (n->count > i + 1 && !(d->a > 0)) d->a = RLLB_OFF;
    return ok && (float)d->d >= draws && (float)d->d <= draws;
}

static bool take_equalise(const numbers *n, rllb_balancer_desc *d)
{
    d->by_stretch = n->count > 0 && strcmp(n->text[0], "stretch") == 0;
    if (n->count > 0 && !d->by_stretch && strcmp(n->text[0], "duration") != 0) return false;
    return take_draw(n, 1, d) && take_number(n, 4, 1e-6, 1, &d->eta);
}

/* What stands in the brackets of each policy that has any; NULL: of the others. */
static const char *numbers_of(rllb_balance policy)
{
    switch (policy) {
    case RLLB_BALANCE_DRAW: return "(d,a,gamma): d a whole number from 1 to 64, a and gamma from 0 to 16";
    case RLLB_BALANCE_EQUALISE: return "(duration or stretch,d,a,gamma,eta): d from 1 to 64, a, gamma to 16, eta to 1";
    case RLLB_BALANCE_MAGLEV_BOUNDED: return "(bound): above 0";
    case RLLB_BALANCE_PEAK_EWMA: return "(seconds): above 0";
    case RLLB_BALANCE_PREQUAL: return "(hot): above 0, at most 1";
    default: return NULL;
    }
}

static bool take_numbers(const numbers *n, rllb_balancer_desc *d)
{
    switch (d->policy) {
    case RLLB_BALANCE_DRAW: return n->count <= 3 && take_draw(n, 0, d);
    case RLLB_BALANCE_EQUALISE: return take_equalise(n, d);
    case RLLB_BALANCE_MAGLEV_BOUNDED: return n->count <= 1 && take_number(n, 0, 1e-6, 1e6, &d->bound);
    case RLLB_BALANCE_PEAK_EWMA: return n->count <= 1 && take_number(n, 0, 1e-6, 1e6, &d->ewma_s);
    case RLLB_BALANCE_PREQUAL: return n->count <= 1 && take_number(n, 0, 1e-6, 1, &d->hot);
    default: return n->count == 0;
    }
}

static bool needs_more(rllb_balance policy)
{
    return policy == RLLB_BALANCE_LEARNED || policy == RLLB_BALANCE_CHOOSE;
}

static void balance_set(ex_balance *b, rllb_balance policy, const char *name, size_t length)
{
    memset(b, 0, sizeof *b);
    rllb_balancer_desc_default(&b->desc);
    b->desc.policy = policy;
    b->oracle = policy == RLLB_BALANCE_GSQ || policy == RLLB_BALANCE_SRT || policy == RLLB_BALANCE_SED_ORACLE;
    snprintf(b->name, sizeof b->name, "%.*s", (int)length, name);
}

void ex_balance_learned(ex_balance *b, ex_model *model, const char *name)
{
    balance_set(b, RLLB_BALANCE_LEARNED, "", 0);
    snprintf(b->name, sizeof b->name, "learned:%s", name ? name : model->name);
    b->model = model;
}

bool ex_balance_by_weights(const ex_balance *b)
{
    switch (b->desc.policy) {
    case RLLB_BALANCE_LSQ:
    case RLLB_BALANCE_ROUND_ROBIN:
    case RLLB_BALANCE_ECMP:
    case RLLB_BALANCE_P2C:
    case RLLB_BALANCE_C3:
    case RLLB_BALANCE_PREQUAL:
    case RLLB_BALANCE_GSQ:
    case RLLB_BALANCE_SRT: return false;
    default: return true;
    }
}

/* One line: no such name; the nearest, and all there are. */
static int no_such_policy(const char *option, const char *name)
{
    const char *names[RLLB_BALANCE_NUM + 1], *near;
    char all[RLLB_BALANCE_NUM * 24];
    size_t used = 0;
    int32_t i, count = 0;

    for (i = 0; i < RLLB_BALANCE_NUM; i++) {
        if (needs_more((rllb_balance)i)) continue;
        names[count++] = rllb_balance_name((rllb_balance)i);
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", names[count - 1]);
    }
    names[count] = NULL;
    near = ex_nearest(name, names);
    return ex_usage(option, "no policy is called '%.40s'%s%s%s; there are %s; learned; all", name,
                    near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "", all);
}

/* "learned", or "learned(FILE)". */
static int learned_parse(const char *text, size_t length, ex_balance *out)
{
    size_t before = strlen("learned(");
    char path[512];
    ex_model *m;

    if (length < before) {
        m = ex_model_shelf(NULL);
        if (m) balance_set(out, RLLB_BALANCE_LEARNED, text, length);
        if (m) out->model = m;
        return m ? EX_OK : EX_FAILED;
    }
    if (length - before - 1 >= sizeof path) return ex_fail("%.100s...: too long a path", text + before);
    snprintf(path, sizeof path, "%.*s", (int)(length - before - 1), text + before);
    m = ex_model_shelf(path);
    if (m) ex_balance_learned(out, m, NULL);
    return m ? EX_OK : EX_FAILED;
}

static bool is_learned(const char *text, size_t length)
{
    static const char word[] = "learned";
    size_t n = sizeof word - 1;

    if (length < n || strncmp(text, word, n) != 0) return false;
    return length == n || (length > n + 2 && text[n] == '(' && text[length - 1] == ')');
}

static int balance_parse(const char *option, const char *text, size_t length, ex_balance *out)
{
    char whole[sizeof out->name], name[sizeof out->name];
    const char *expected;
    numbers n;
    int32_t policy;

    if (length == 0) return ex_usage(option, "an empty name among the policies");
    if (is_learned(text, length)) return learned_parse(text, length, out);
    if (length >= sizeof whole) return ex_usage(option, "no policy is called '%.40s...'", text);
    snprintf(whole, sizeof whole, "%.*s", (int)length, text);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(whole, "("), whole);
    policy = rllb_balance_of(name);
    if (policy < 0) return no_such_policy(option, name);
    if (policy == RLLB_BALANCE_LEARNED) return ex_usage(option, "'%s' is not learned(file of a model)", whole);
    if (needs_more((rllb_balance)policy)) return ex_usage(option, "%s needs a controller, which is not here", name);
    balance_set(out, (rllb_balance)policy, whole, length);
    expected = numbers_of((rllb_balance)policy);
    if (split_numbers(whole + strlen(name), &n) && take_numbers(&n, &out->desc)) return EX_OK;
    if (!expected) return ex_usage(option, "%s has no numbers: '%s'", name, whole);
    return ex_usage(option, "'%s' is not %s%s", whole, name, expected);
}

/* Up to the next comma that is not in brackets. */
static size_t name_length(const char *text)
{
    size_t i;
    int32_t depth = 0;

    for (i = 0; text[i] && (text[i] != ',' || depth > 0); i++) depth += (text[i] == '(') - (text[i] == ')');
    return i;
}

static int balance_add(const char *option, const ex_balance *b, ex_balance out[EX_BALANCES_MAX], int32_t *count)
{
    int32_t i;

    for (i = 0; i < *count; i++) {
        if (strcmp(out[i].name, b->name) != 0) continue;
        if (out[i].model == b->model) return EX_OK;
        return ex_usage(option, "%s and %s would both be called %s", out[i].model->path, b->model->path, b->name);
    }
    if (*count == EX_BALANCES_MAX) return ex_usage(option, "more than %d policies", EX_BALANCES_MAX);
    out[(*count)++] = *b;
    return EX_OK;
}

int ex_balances_parse(const char *option, const char *text, ex_balance out[EX_BALANCES_MAX], int32_t *count)
{
    ex_balance b;
    int32_t i;

    *count = 0;
    for (;;) {
        size_t length = name_length(text);
        int status = EX_OK;
        if (length == 3 && strncmp(text, "all", 3) == 0) {
            for (i = 0; i < RLLB_BALANCE_NUM && status == EX_OK; i++) {
                const char *name = rllb_balance_name((rllb_balance)i);
                if (needs_more((rllb_balance)i)) continue;
                balance_set(&b, (rllb_balance)i, name, strlen(name));
                status = balance_add(option, &b, out, count);
            }
        } else {
            status = balance_parse(option, text, length, &b);
            if (status == EX_OK) status = balance_add(option, &b, out, count);
        }
        if (status != EX_OK || !text[length]) return status;
        text += length + 1;
    }
}

bool ex_balance_apply(const ex_balance *b, rllb_env_flows_desc *d)
{
    rllb_guard guard = d->balancer.guard;

    if (b->servers) d->servers = b->servers;
    if (b->model) return ex_model_apply(b->model, d);
    d->balancer = b->desc;
    d->balancer.guard = guard;
    return true;
}

/* ---- one run ------------------------------------------------------------------------------------------------- */

void ex_cell_default(ex_cell *c, const rllb_env_flows_desc *desc, double duration_s)
{
    memset(c, 0, sizeof *c);
    c->desc = *desc;
    c->duration_s = duration_s;
    c->warmup = 0.1;
    c->look_s = 0.5;
}

static int32_t looks_of(const ex_cell *c)
{
    return (int32_t)floor(c->duration_s / c->look_s + 1e-9);
}

static int32_t looks_per_bin(const ex_cell *c)
{
    return (looks_of(c) + EX_FLOW_BINS - 1) / EX_FLOW_BINS;
}

static int32_t bins_of(const ex_cell *c)
{
    int32_t per = looks_per_bin(c);

    return c->wants_series && per > 0 ? (looks_of(c) + per - 1) / per : 0;
}

/* Durations of flows: of all, and with apart_s of the two classes. */
enum { ALL_FLOWS, APART, OTHERS, LISTS };

typedef struct list {
    float *durations;
    size_t count, room;
    double sum;
} list;

/* What is gathered while a cell runs. */
typedef struct watch {
    ex_cell *cell;
    double from_s, jain, jain_busy, residual_sum, residual_max;
    list lists[LISTS];
    float *residual; /* [servers], of one look */
    int32_t looks, busy_looks, *group, *line; /* group, line: [servers] which one it belongs to */
    ex_group groups[EX_GROUPS_MAX], lines[EX_LINES_MAX];
    int32_t line_count;
    double *bin_sum; /* [bins] of durations; and how many looks a bin has had */
    int32_t *bin_looks;
    bool failed;
} watch;

static size_t columns_of(const ex_cell *c)
{
    return c->wants_weights ? EX_FLOW_COLUMNS_MOST : EX_FLOW_COLUMNS;
}

static double *column(ex_cell *c, int32_t which)
{
    return c->series + (size_t)which * (size_t)c->bins;
}

static void keep_duration(watch *w, list *l, double duration_s)
{
    if (l->count == l->room) {
        size_t room = l->room * 2 + 4096;
        float *more = realloc(l->durations, room * sizeof *more);
        if (!more) {
            w->failed = true;
            return;
        }
        l->durations = more;
        l->room = room;
    }
    l->durations[l->count++] = (float)duration_s;
    l->sum += duration_s;
}

static void keep_flow(watch *w, double duration_s, double work_s)
{
    double apart_s = w->cell->apart_s;

    keep_duration(w, &w->lists[ALL_FLOWS], duration_s);
    if (apart_s > 0) keep_duration(w, &w->lists[fabs(work_s - apart_s) <= 1e-6 * apart_s ? APART : OTHERS], duration_s);
}

static void hear(void *user, const rllb_env_flow *f)
{
    static const ex_flow_figure counted[RLLB_ENV_FATE_NUM] = { EX_FLOW_COMPLETED, EX_FLOW_REJECTED, EX_FLOW_FAILED,
                                                               EX_FLOW_TIMED_OUT, EX_FLOW_REJECTED };
    watch *w = user;
    ex_cell *c = w->cell;
    double duration_s = f->ended_s - f->arrived_s;
    bool completed = f->fate == RLLB_ENV_COMPLETED;

    if (c->bins > 0 && c->wants_weights && f->server >= 0) {
        int32_t bin = (int32_t)(f->arrived_s / c->bin_s);
        column(c, EX_COLUMN_SHARE + w->line[f->server])[bin < c->bins ? bin : c->bins - 1] += 1;
    }
    if (c->bins > 0) {
        int32_t bin = (int32_t)(f->ended_s / c->bin_s);
        if (bin >= c->bins) bin = c->bins - 1;
        column(c, completed ? EX_COLUMN_COMPLETED : EX_COLUMN_REJECTED)[bin] += 1 / c->bin_s;
        if (completed) w->bin_sum[bin] += duration_s;
    }
    if (f->ended_s <= w->from_s) return;
    c->value[counted[f->fate]]++;
    if (completed) keep_flow(w, duration_s, f->work_s);
}

static void look_into_bin(watch *w, int32_t bin, double jain, double mean, double most, const double *busy)
{
    ex_cell *c = w->cell;
    int32_t k;

    w->bin_looks[bin]++;
    column(c, EX_COLUMN_JAIN)[bin] += jain;
    column(c, EX_COLUMN_RESIDUAL_MEAN)[bin] += mean;
    if (most > column(c, EX_COLUMN_RESIDUAL_MAX)[bin]) column(c, EX_COLUMN_RESIDUAL_MAX)[bin] = most;
    for (k = 0; k < c->groups; k++) column(c, EX_COLUMN_BUSY + k)[bin] += busy[k];
}

/* Weights in force; a server that is not to be picked has none. */
static void look_at_weights(watch *w, rllb_env_flows *world, int32_t bin)
{
    ex_cell *c = w->cell;
    int32_t m = c->desc.balancers > 0 ? c->desc.balancers : 1, i, j;
    rllb_server_info info;

    for (i = 0; i < m; i++) {
        const rllb_balancer *b = rllb_env_flows_balancer(world, i);
        for (j = 0; j < c->desc.count; j++) {
            if (rllb_balancer_server(b, j, &info) != RLLB_OK || !info.usable) continue;
            column(c, EX_COLUMN_WEIGHT + w->line[j])[bin] +=
                (double)info.weight_in_force / ((double)m * w->lines[w->line[j]].servers);
        }
    }
}

static void look(watch *w, rllb_env_flows *world, int32_t number, double now_s)
{
    ex_cell *c = w->cell;
    double busy[EX_GROUPS_MAX] = { 0 }, jain, sum = 0, most = 0, residual_s;
    int32_t n = c->desc.count, i, k, running;

    for (i = 0; i < n; i++) {
        rllb_env_flows_server(world, i, NULL, &running, &residual_s);
        w->residual[i] = (float)residual_s;
        busy[w->group[i]] += (double)running / w->groups[w->group[i]].servers;
        sum += residual_s;
        if (residual_s > most) most = residual_s;
    }
    jain = rllb_fairness(RLLB_FAIRNESS_JAIN, w->residual, n);
    if (c->bins > 0) look_into_bin(w, number / looks_per_bin(c), jain, sum / n, most, busy);
    if (c->bins > 0 && c->wants_weights) look_at_weights(w, world, number / looks_per_bin(c));
    if (now_s <= w->from_s) return;
    w->looks++;
    w->jain += jain;
    if (sum > 0) {
        w->busy_looks++;
        w->jain_busy += jain;
    }
    w->residual_sum += sum / n;
    if (most > w->residual_max) w->residual_max = most;
    for (k = 0; k < c->groups; k++) c->busy[k] += busy[k];
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Linear between order statistics, as rllb_quantile has it. */
static double quantile_of(const float *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1), share;
    size_t i = (size_t)at;

    if (n == 0) return (double)NAN;
    if (i + 1 >= n) return (double)sorted[n - 1];
    share = at - (double)i;
    return (double)sorted[i] * (1 - share) + (double)sorted[i + 1] * share;
}

static void finish_bins(watch *w)
{
    ex_cell *c = w->cell;
    int32_t b, k;

    for (b = 0; b < c->bins; b++) {
        double completed = column(c, EX_COLUMN_COMPLETED)[b] * c->bin_s;
        double whole = (double)looks_per_bin(c) / (w->bin_looks[b] > 0 ? w->bin_looks[b] : 1); /* last: shorter */
        column(c, EX_COLUMN_MEAN)[b] = completed > 0.5 ? w->bin_sum[b] / completed : (double)NAN;
        column(c, EX_COLUMN_COMPLETED)[b] *= whole;
        column(c, EX_COLUMN_REJECTED)[b] *= whole;
        for (k = EX_COLUMN_JAIN; k < EX_COLUMN_BUSY + c->groups; k++) {
            if (k != EX_COLUMN_RESIDUAL_MAX && w->bin_looks[b] > 0) column(c, k)[b] /= w->bin_looks[b];
        }
    }
}

static double share_of(double sum, double count)
{
    return count > 0 ? sum / count : (double)NAN;
}

/* Weights are sums over looks so far, shares are numbers of flows. */
static void finish_lines(watch *w)
{
    ex_cell *c = w->cell;
    int32_t b, k;

    for (b = 0; b < c->bins && c->wants_weights; b++) {
        double flows = 0;
        for (k = 0; k < w->line_count; k++) flows += column(c, EX_COLUMN_SHARE + k)[b];
        for (k = 0; k < w->line_count; k++) {
            double alike = flows * w->lines[k].servers / c->desc.count;
            column(c, EX_COLUMN_WEIGHT + k)[b] = share_of(column(c, EX_COLUMN_WEIGHT + k)[b], w->bin_looks[b]);
            column(c, EX_COLUMN_SHARE + k)[b] = share_of(column(c, EX_COLUMN_SHARE + k)[b], alike);
        }
    }
}

static void fill_quantiles(const list *l, float quantile[EX_FLOW_QUANTILES])
{
    int32_t i;

    for (i = 0; i < EX_FLOW_QUANTILES; i++) {
        quantile[i] = (float)quantile_of(l->durations, l->count, i / (EX_FLOW_QUANTILES - 1.0));
    }
}

static void finish_class(const list *l, ex_flow_class *out)
{
    out->completed = (double)l->count;
    out->mean = share_of(l->sum, (double)l->count);
    out->p50 = quantile_of(l->durations, l->count, 0.5);
    out->p90 = quantile_of(l->durations, l->count, 0.9);
    fill_quantiles(l, out->quantile);
}

static void finish(watch *w, const rllb_env_flows *world)
{
    static const double points[] = { 0.5, 0.9, 0.99, 0.999 };
    const list *all = &w->lists[ALL_FLOWS];
    ex_cell *c = w->cell;
    rllb_env_flows_info info;
    int32_t i;

    for (i = 0; i < LISTS; i++) {
        list *l = &w->lists[i];
        if (l->count > 0) qsort(l->durations, l->count, sizeof *l->durations, by_size);
    }
    c->value[EX_FLOW_MEAN] = share_of(all->sum, (double)all->count);
    for (i = 0; i < 4; i++) c->value[EX_FLOW_P50 + i] = quantile_of(all->durations, all->count, points[i]);
    fill_quantiles(all, c->quantile);
    finish_class(&w->lists[APART], &c->classes[0]);
    finish_class(&w->lists[OTHERS], &c->classes[1]);
    c->value[EX_FLOW_JAIN] = share_of(w->jain, w->looks);
    c->value[EX_FLOW_JAIN_BUSY] = share_of(w->jain_busy, w->busy_looks);
    c->value[EX_FLOW_RESIDUAL_MEAN] = share_of(w->residual_sum, w->looks);
    c->value[EX_FLOW_RESIDUAL_MAX] = w->looks > 0 ? w->residual_max : (double)NAN;
    for (i = 0; i < c->groups; i++) c->busy[i] = share_of(c->busy[i], w->looks);
    rllb_env_flows_query(world, &info);
    c->value[EX_FLOW_IN_FLIGHT] = (double)info.in_flight;
    finish_bins(w);
    finish_lines(w);
}

static bool watch_open(watch *w, ex_cell *c)
{
    memset(w, 0, sizeof *w);
    w->cell = c;
    w->from_s = c->warmup * c->duration_s;
    memset(c->value, 0, sizeof c->value);
    memset(c->busy, 0, sizeof c->busy);
    if (c->bins > 0) memset(c->series, 0, (size_t)c->bins * columns_of(c) * sizeof *c->series);
    w->residual = calloc((size_t)c->desc.count, sizeof *w->residual);
    w->group = calloc((size_t)c->desc.count, sizeof *w->group);
    w->line = calloc((size_t)c->desc.count, sizeof *w->line);
    w->bin_sum = calloc((size_t)c->bins + 1, sizeof *w->bin_sum);
    w->bin_looks = calloc((size_t)c->bins + 1, sizeof *w->bin_looks);
    if (!w->residual || !w->group || !w->line || !w->bin_sum || !w->bin_looks) return false;
    c->groups = ex_flows_groups(&c->desc, w->groups, w->group);
    w->line_count = ex_flows_lines(&c->desc, w->lines, w->line);
    return true;
}

static void watch_close(watch *w)
{
    int32_t i;

    for (i = 0; i < LISTS; i++) free(w->lists[i].durations);
    free(w->residual);
    free(w->group);
    free(w->line);
    free(w->bin_sum);
    free(w->bin_looks);
}

/* c->bins and c->series are ready. done_share and parent may be NULL and 0: nobody waits. */
static bool run_cell(ex_cell *c, volatile double *done_share, pid_t parent)
{
    rllb_env_flows *world = NULL;
    watch w;
    bool ok = watch_open(&w, c);
    int32_t i, looks = looks_of(c);

    if (ok && rllb_env_flows_size(&c->desc) == 0) {
        ok = ex_fail("%s: these settings make no world", c->name) == EX_OK;
    } else if (ok) {
        world = rllb_env_flows_create(&c->desc);
        if (!world) ok = ex_fail("%s: not enough memory for the world", c->name) == EX_OK;
    }
    ex_model_begin(&c->desc);
    if (world) rllb_env_flows_listen(world, hear, &w);
    for (i = 0; ok && i < looks; i++) {
        double now_s = (i + 1) * c->look_s;
        rllb_env_flows_run(world, now_s);
        look(&w, world, i, now_s);
        if (w.failed) ok = ex_fail("%s: not enough memory for the durations of its flows", c->name) == EX_OK;
        if (done_share) *done_share = (i + 1.0) / looks;
        if (parent && getppid() != parent) ok = false; /* nobody would take the result */
    }
    if (ok) finish(&w, world);
    watch_close(&w);
    rllb_env_flows_destroy(world);
    c->done = ok;
    return ok;
}

/* Room for the series, if it is wanted. */
static bool cell_prepare(ex_cell *c)
{
    free(c->series);
    c->series = NULL;
    c->bins = bins_of(c);
    c->bin_s = c->look_s * looks_per_bin(c);
    if (c->bins == 0) return true;
    c->series = calloc((size_t)c->bins * columns_of(c), sizeof *c->series);
    if (!c->series) ex_fail("not enough memory for the series of a run");
    return c->series != NULL;
}

bool ex_cell_run(ex_cell *c)
{
    return cell_prepare(c) && run_cell(c, NULL, 0);
}

void ex_cells_free(ex_cell *cells, int32_t count)
{
    int32_t i;

    for (i = 0; cells && i < count; i++) free(cells[i].series);
    free(cells);
}

/* ---- many runs ----------------------------------------------------------------------------------------------- */

/* Shared by a process and its parent: the cell as it is when the run is through, and its series behind it. */
typedef struct mail {
    volatile double done_share;
    volatile int32_t complete;
    ex_cell cell;
    double series[1];
} mail;

typedef struct batch {
    ex_cell *cells;
    int32_t count, next, done, failed;
    double effort, effort_done; /* flows; done: of runs that have ended */
    ex_pool pool;
    ex_progress bar;
} batch;

static double effort_of(const ex_cell *c)
{
    return c->desc.rate * c->duration_s;
}

static int32_t batch_next(void *self)
{
    batch *b = self;
    return b->failed > 0 || b->next >= b->count ? -1 : b->next++;
}

static int batch_run(void *self, int32_t run, void *at, pid_t parent)
{
    mail *m = at;

    m->cell = ((batch *)self)->cells[run];
    m->cell.series = m->series;
    m->complete = run_cell(&m->cell, &m->done_share, parent);
    return m->complete ? 0 : 1;
}

static bool batch_take(void *self, int32_t run, const void *at, int status, int killer)
{
    batch *b = self;
    const mail *m = at;
    ex_cell *to = &b->cells[run];
    double *series = to->series;

    b->effort_done += effort_of(to);
    if (status != 0 || !m->complete) {
        b->failed++;
        if (killer) ex_fail("the run %s was ended by signal %d", to->name, killer);
        return true; /* one that failed has said why */
    }
    *to = m->cell;
    to->series = series;
    if (to->bins > 0) memcpy(series, m->series, (size_t)to->bins * columns_of(to) * sizeof *series);
    b->done++;
    return true;
}

static void batch_show(void *self)
{
    batch *b = self;
    double effort = b->effort_done;
    int32_t i, run;
    const void *at;

    for (i = 0; i < b->pool.jobs; i++) {
        run = ex_pool_look(&b->pool, i, &at);
        if (run >= 0) effort += effort_of(&b->cells[run]) * ((const mail *)at)->done_share;
    }
    ex_progress_step(&b->bar, (int64_t)effort, "%d of %d runs", (int)b->done, (int)b->count);
}

int ex_cells_run(ex_cell *cells, int32_t count, int32_t jobs, const char *what, bool quiet)
{
    int status = EX_GO_ON;
    size_t most = 0;
    int32_t i;
    bool ok;
    batch b;

    if (count < 1) return EX_GO_ON;
    memset(&b, 0, sizeof b);
    b.cells = cells;
    b.count = count;
    for (i = 0; i < count; i++) {
        if (!cell_prepare(&cells[i])) return EX_FAILED;
        cells[i].done = false;
        b.effort += effort_of(&cells[i]);
        if ((size_t)cells[i].bins * columns_of(&cells[i]) > most) most = (size_t)cells[i].bins * columns_of(&cells[i]);
    }
    b.pool.self = &b;
    b.pool.jobs = jobs;
    b.pool.runs = count;
    b.pool.mail_bytes = sizeof(mail) + most * sizeof(double);
    b.pool.next = batch_next;
    b.pool.run = batch_run;
    b.pool.take = batch_take;
    b.pool.show = batch_show;
    ex_catch_interrupts();
    ex_progress_start(&b.bar, what, b.effort < 9e18 ? (int64_t)b.effort : INT64_MAX, quiet);
    ok = ex_pool_work(&b.pool);
    if (!ok || b.failed > 0) {
        ex_progress_end(&b.bar, NULL);
        status = EX_FAILED;
    } else if (ex_interrupted()) {
        ex_progress_end(&b.bar, NULL);
        fprintf(stderr, "%s: stopped with %d of %d runs done\n", ex_program_name(), (int)b.done, (int)count);
        status = ex_interrupt_status();
    } else {
        ex_progress_end(&b.bar, "%d runs, %.0f flows,", (int)count, b.effort);
    }
    return status;
}

/* ---- over seeds ---------------------------------------------------------------------------------------------- */

enum { SEEDS_AT_ONCE = 4096 };

/* Of a figure, or with figure < 0 of busy workers of a group; less those of `from`, if there are any. */
static ex_estimate estimate(const ex_cell *cells, const ex_cell *from, int32_t seeds, int32_t figure, int32_t group)
{
    ex_estimate none = { (double)NAN, (double)NAN, (double)NAN };
    double values[SEEDS_AT_ONCE];
    int32_t i;

    if (seeds > SEEDS_AT_ONCE) seeds = SEEDS_AT_ONCE;
    for (i = 0; i < seeds; i++) {
        values[i] = figure < 0 ? cells[i].busy[group] : cells[i].value[figure];
        if (from) values[i] -= from[i].value[figure];
        if (!isfinite(values[i])) return none;
    }
    return ex_estimate_t(values, seeds);
}

ex_estimate ex_cells_estimate(const ex_cell *cells, int32_t seeds, ex_flow_figure figure)
{
    return estimate(cells, NULL, seeds, (int32_t)figure, 0);
}

ex_estimate ex_cells_differ(const ex_cell *cells, const ex_cell *from, int32_t seeds, ex_flow_figure figure)
{
    return estimate(cells, from, seeds, (int32_t)figure, 0);
}

ex_estimate ex_cells_busy(const ex_cell *cells, int32_t seeds, int32_t group)
{
    return estimate(cells, NULL, seeds, -1, group);
}
