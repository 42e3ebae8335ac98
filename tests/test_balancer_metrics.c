/* test_balancer_metrics.c - what a balancer tells of itself, read back

   Two small strict readers, of Prometheus' text exposition format 0.0.4 and of InfluxDB's line protocol, refuse what a
   real one might: anything out of place fails the test that reads it. Both make the same samples, and these are
   compared one by one with what the other functions of the balancer say. */

#include <locale.h>
#include <stdlib.h>

#define RLLB_STATIC
#include "rllb.h"
#include "test.h"

enum { FIGURES = 13 /* of a server, its state apart */, SERVERS_MAX = RLLB_BALANCER_SERVERS_MAX };

/* ---- samples ----------------------------------------------------------------------------------------------- */

typedef struct sample {
    char what[80];                           /* "rllb_server_picks_total" */
    char balancer[400], server[200];         /* unescaped */
    int32_t index;                           /* -1: the balancer */
    char state[20], value[40], stamp[40];    /* as written; stamp "": none */
    bool integer;                            /* the format says so */
} sample;

typedef void (*sample_fn)(void *self, const sample *s);

static const char *skip_digits(const char *c)
{
    while (*c >= '0' && *c <= '9') c++;
    return c;
}

/* [-] digits [. digits] [e [-] digits], to its end and with no zero in front that need not be there. */
static bool is_number(const char *c, bool integer)
{
    const char *at;

    if (*c == '-') c++;
    at = skip_digits(c);
    if (at == c || (*c == '0' && at > c + 1)) return false;
    if (integer) return !*at;
    if (*at == '.') {
        c = ++at;
        at = skip_digits(c);
        if (at == c || at[-1] == '0') return false;
    }
    if (*at == 'e') {
        c = at + (at[1] == '-' ? 2 : 1);
        at = skip_digits(c);
        if (at == c || *c == '0') return false;
    }
    return !*at;
}

/* The number that is_number let pass. Whatever the locale; good to a few times 1e-16 of it. */
static double number(const char *c)
{
    double sign = *c == '-' ? -1 : 1;
    uint64_t digits = 0;
    int32_t places = 0, power = 0, power_sign = 1;
    bool point = false;

    if (*c == '-') c++;
    for (; *c && *c != 'e'; c++) {
        if (*c == '.') point = true;
        else {
            digits = digits * 10 + (uint64_t)(*c - '0');
            places += point;
        }
    }
    if (*c == 'e') {
        if (*++c == '-') power_sign = -1, c++;
        for (; *c; c++) power = power * 10 + (*c - '0');
    }
    return sign * (double)((long double)digits * powl(10, (long double)(power_sign * power - places)));
}

/* One character of UTF-8 by decoding it and coding it again: bytes, 0 if it is none. */
static int32_t utf8(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    unsigned char again[4];
    uint32_t code = c[0];
    int32_t n = 1, i;

    if (code >= 0xc0) {
        n = code >= 0xf0 ? 4 : code >= 0xe0 ? 3 : 2;
        code &= 0x7fu >> n;
        for (i = 1; i < n; i++) {
            if (c[i] >> 6 != 2) return 0;
            code = code << 6 | (c[i] & 0x3fu);
        }
    } else if (code >= 0x80) return 0;
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
    i = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (i != n) return 0;
    again[0] = (unsigned char)(n == 1 ? code : (0xf00u >> n & 0xf0) | code >> 6 * (n - 1));
    for (i = 1; i < n; i++) again[i] = (unsigned char)(0x80 | (code >> 6 * (n - 1 - i) & 0x3f));
    return memcmp(again, c, (size_t)n) == 0 ? n : 0;
}

/* How a name is to be read in a format: what that cannot carry is '_'. */
static void spell(const char *name, rllb_metrics_format format, char *out)
{
    int32_t n;

    if (!*name) *out++ = '_';
    for (; *name; name += n) {
        unsigned char c = (unsigned char)*name;
        n = utf8(name);
        if (!n || c == 127 || (c < 32 && (c != '\n' || format == RLLB_METRICS_INFLUX)) ||
            (c == '\\' && format == RLLB_METRICS_INFLUX)) {
            *out++ = '_';
            n = 1;
        } else {
            memcpy(out, name, (size_t)n);
            out += n;
        }
    }
    *out = 0;
}

/* Copies until one of the characters `ends` and returns where that is; NULL if there is none or no room. */
static const char *until(const char *c, const char *ends, char *out, size_t size)
{
    size_t n = strcspn(c, ends);

    if (!c[n] || n >= size) return NULL;
    memcpy(out, c, n);
    out[n] = 0;
    return c + n;
}

static bool clean(const char *text)
{
    for (; *text; text += utf8(text)) {
        if (!utf8(text) || ((unsigned char)*text < 32 && *text != '\n') || *text == 127) return false;
    }
    return true;
}

static bool is_name(const char *c)
{
    if (strncmp(c, "rllb_balancer", 13) != 0 && strncmp(c, "rllb_server", 11) != 0) return false;
    return c[strspn(c, "abcdefghijklmnopqrstuvwxyz_")] == 0;
}

/* ---- Prometheus -------------------------------------------------------------------------------------------- */

/* "value" with its escapes; returns what follows the closing quote. */
static const char *read_label(const char *c, char *out, size_t size)
{
    size_t n = 0;

    if (*c++ != '"') return NULL;
    for (; *c != '"'; c++) {
        if (!*c || *c == '\n' || n + 1 >= size) return NULL;
        if (*c == '\\') {
            c++;
            if (*c != '\\' && *c != '"' && *c != 'n') return NULL;
            out[n++] = *c == 'n' ? '\n' : *c;
        } else out[n++] = *c;
    }
    out[n] = 0;
    return clean(out) ? c + 1 : NULL;
}

static const char *read_index(const char *c, int32_t *out)
{
    const char *end = skip_digits(c);

    if (end == c || end > c + 5 || (*c == '0' && end > c + 1)) return NULL;
    for (*out = 0; c < end; c++) *out = *out * 10 + (*c - '0');
    return end;
}

/* family{labels} value, one line. */
static const char *read_prometheus_sample(const char *c, sample *s)
{
    char index[8];

    memset(s, 0, sizeof *s);
    s->index = -1;
    c = until(c, "{\n", s->what, sizeof s->what);
    if (!c || strncmp(c, "{balancer=", 10) != 0 || !is_name(s->what)) return NULL;
    c = read_label(c + 10, s->balancer, sizeof s->balancer);
    if (c && strncmp(c, ",index=", 7) == 0) {
        c = read_label(c + 7, index, sizeof index);
        if (!c || !read_index(index, &s->index) || strncmp(c, ",server=", 8) != 0) return NULL;
        c = read_label(c + 8, s->server, sizeof s->server);
        if (c && strncmp(c, ",state=", 7) == 0) c = read_label(c + 7, s->state, sizeof s->state);
    }
    if (!c || c[0] != '}' || c[1] != ' ') return NULL;
    c = until(c + 2, "\n", s->value, sizeof s->value);
    if (!c || (s->index >= 0) != (strncmp(s->what, "rllb_server_", 12) == 0)) return NULL;
    if (is_number(s->value, false)) return c + 1;
    if (strcmp(s->value, "NaN") == 0 || strcmp(s->value, "+Inf") == 0 || strcmp(s->value, "-Inf") == 0) return c + 1;
    return NULL;
}

/* "# HELP family words" and "# TYPE family type": a family begins. */
static const char *read_family(const char *c, char *family, char *help)
{
    char again[80], type[20];

    if (strncmp(c, "# HELP ", 7) != 0) return NULL;
    c = until(c + 7, " \n", family, 80);
    if (!c || *c != ' ' || !is_name(family)) return NULL;
    c = until(c + 1, "\\\n", help, 200);
    if (!c || !help[0] || strncmp(c, "\n# TYPE ", 8) != 0) return NULL;
    c = until(c + 8, " \n", again, sizeof again);
    if (!c || *c != ' ' || strcmp(again, family) != 0) return NULL;
    c = until(c + 1, "\n", type, sizeof type);
    if (!c || strlen(family) < 6) return NULL;
    return strcmp(type, strcmp(family + strlen(family) - 6, "_total") == 0 ? "counter" : "gauge") == 0 ? c + 1 : NULL;
}

/* How many samples; -1 and a note where it is not as it should be. */
static int32_t read_prometheus(const char *text, sample_fn fn, void *self)
{
    static char seen[64][80];
    char help[200], state[20] = "";
    int32_t families = 0, samples = 0, index = -2, i;
    const char *c = text, *next = text;
    bool alone = false; /* a family without samples */
    sample s;

    for (; *c && next; c = next ? next : c) {
        if (*c == '#') {
            next = alone || families == 64 ? NULL : read_family(c, seen[families], help);
            for (i = 0; next && i < families; i++) {
                if (strcmp(seen[i], seen[families]) == 0) next = NULL; /* all lines of a family stand together */
            }
            families++;
            index = -2;
            alone = true;
        } else {
            next = read_prometheus_sample(c, &s);
            if (!next || !families || strcmp(s.what, seen[families - 1]) != 0) next = NULL;
            else if (s.index < index || (s.index == index && strcmp(state, s.state) == 0)) next = NULL; /* twice */
            else if (fn) fn(self, &s);
            index = s.index;
            strcpy(state, s.state);
            alone = false;
            samples++;
        }
    }
    if (!*c && next && !alone) return samples;
    NOTE("Prometheus, byte %ld: %.60s", (long)(c - text), c);
    return -1;
}

/* ---- line protocol ----------------------------------------------------------------------------------------- */

/* A tag's value, up to a bare comma or space; returns where that is. */
static const char *read_tag(const char *c, char *out, size_t size)
{
    size_t n = 0;

    for (; *c != ',' && *c != ' '; c++) {
        if (!*c || *c == '\n' || *c == '=' || n + 1 >= size) return NULL;
        if (*c == '\\' && *++c != ',' && *c != ' ' && *c != '=') return NULL; /* readers do not agree on others */
        out[n++] = *c;
    }
    out[n] = 0;
    return n && clean(out) && !strchr(out, '\n') ? c : NULL;
}

/* key=value, from the space or comma before it to the comma, space or newline after it. */
static const char *read_field(const char *c, const char *measurement, sample *s)
{
    char key[60];
    size_t n;

    c = until(c + 1, "=, \n", key, sizeof key);
    if (!c || *c != '=') return NULL;
    snprintf(s->what, sizeof s->what, "%s_%s", measurement, key);
    c = until(c + 1, ", \n", s->value, sizeof s->value);
    if (!c || !is_name(s->what)) return NULL;
    s->integer = false;
    s->state[0] = 0;
    n = strlen(s->value);
    if (n > 2 && s->value[0] == '"' && s->value[n - 1] == '"') {
        memcpy(s->state, s->value + 1, n - 2 < sizeof s->state ? n - 2 : 0);
        s->state[n - 2 < sizeof s->state ? n - 2 : 0] = 0;
        return s->state[0] && !strpbrk(s->state, "\"\\") ? c : NULL;
    }
    if (n > 1 && s->value[n - 1] == 'i') {
        s->integer = true;
        s->value[n - 1] = 0;
    }
    return is_number(s->value, s->integer) ? c : NULL;
}

/* One line: measurement and tags, sorted, then fields, then the stamp. */
static const char *read_line(const char *c, int32_t *samples, sample_fn fn, void *self)
{
    char measurement[20];
    const char *fields;
    sample s;

    memset(&s, 0, sizeof s);
    s.index = -1;
    c = until(c, ", \n", measurement, sizeof measurement);
    if (!c || !is_name(measurement) || strncmp(c, ",balancer=", 10) != 0) return NULL;
    c = read_tag(c + 10, s.balancer, sizeof s.balancer);
    if (c && strncmp(c, ",index=", 7) == 0) {
        c = read_index(c + 7, &s.index);
        if (!c || strncmp(c, ",server=", 8) != 0) return NULL;
        c = read_tag(c + 8, s.server, sizeof s.server);
    }
    if (!c || *c != ' ' || strcmp(measurement, s.index < 0 ? "rllb_balancer" : "rllb_server") != 0) return NULL;
    fields = c;
    do c = read_field(c, measurement, &s);
    while (c && *c == ',');
    if (c && *c == ' ') {
        c = until(c + 1, "\n", s.stamp, sizeof s.stamp);
        if (!c || !is_number(s.stamp, true)) return NULL;
    }
    if (!c || *c != '\n') return NULL;
    do {
        fields = read_field(fields, measurement, &s);
        if (fn) fn(self, &s);
        ++*samples;
    } while (fields && *fields == ',');
    return c + 1;
}

static int32_t read_influx(const char *text, sample_fn fn, void *self)
{
    int32_t samples = 0;
    const char *c = text, *next = text;

    for (; *c && next; c = next ? next : c) next = read_line(c, &samples, fn, self);
    if (next) return samples;
    NOTE("line protocol, byte %ld: %.60s", (long)(c - text), c);
    return -1;
}

/* ---- what should be read ----------------------------------------------------------------------------------- */

static const char *const state_names[RLLB_SERVER_STATE_NUM] = { "none", "up", "draining", "down", "ejected" };

typedef struct reading {
    const rllb_balancer *b;
    rllb_metrics_format format;
    const char *stamp;
    int32_t of_balancer, of_servers, wrong; /* samples */
    int32_t server_index;                   /* the one `info` is of */
    rllb_server_info info;
    rllb_counters counters;
    char balancer[400], server[200];
} reading;

/* A float has come back the same, a double to 15 digits; what is not finite by its name. */
static bool same(const sample *s, double v, bool is_float)
{
    double read;

    if (s->integer) return false;
    if (v != v) return strcmp(s->value, "NaN") == 0;
    if (v - v != 0) return strcmp(s->value, v > 0 ? "+Inf" : "-Inf") == 0;
    read = number(s->value);
    if (is_float) return (float)read >= (float)v && (float)read <= (float)v;
    return fabs(read - v) <= 5.5e-15 * fabs(v);
}

static bool same_count(const reading *r, const sample *s, long long v)
{
    char words[40];

    snprintf(words, sizeof words, "%lld", v);
    return strcmp(s->value, words) == 0 && s->integer == (r->format == RLLB_METRICS_INFLUX);
}

static bool right_of_server(const reading *r, const sample *s, const char *figure)
{
    const rllb_server_info *info = &r->info;

    if (strcmp(figure, "picks_total") == 0) return same_count(r, s, (long long)info->picks);
    if (strcmp(figure, "done_total") == 0) return same_count(r, s, (long long)info->done);
    if (strcmp(figure, "failed_total") == 0) return same_count(r, s, (long long)info->failed);
    if (strcmp(figure, "lost_total") == 0) return same_count(r, s, (long long)info->lost);
    if (strcmp(figure, "ejections_total") == 0) return same_count(r, s, (long long)info->ejections);
    if (strcmp(figure, "samples_total") == 0) return same_count(r, s, (long long)info->samples);
    if (strcmp(figure, "in_flight") == 0) return same_count(r, s, (long long)info->in_flight);
    if (strcmp(figure, "usable") == 0) return same_count(r, s, info->usable);
    if (strcmp(figure, "weight") == 0) return same(s, (double)info->weight, true);
    if (strcmp(figure, "weight_in_force") == 0) return same(s, (double)info->weight_in_force, true);
    if (strcmp(figure, "duration_seconds_total") == 0) return same(s, info->duration_sum_s, false);
    if (strcmp(figure, "recent_duration_seconds") == 0) return same(s, (double)info->duration_s, true);
    if (strcmp(figure, "unloaded_duration_seconds") == 0) return same(s, (double)info->unloaded_s, true);
    if (strcmp(figure, "state") != 0) return false;
    if (r->format == RLLB_METRICS_INFLUX) return strcmp(s->state, state_names[info->state]) == 0;
    return same_count(r, s, strcmp(s->state, state_names[info->state]) == 0);
}

static bool right_of_balancer(const reading *r, const sample *s, const char *figure)
{
#define IS_COUNTER(name, words) \
    if (strcmp(figure, #name "_total") == 0) return same_count(r, s, (long long)r->counters.name);
    RLLB_COUNTER_LIST(IS_COUNTER)
#undef IS_COUNTER
    return strcmp(figure, "reward") == 0 && same(s, rllb_balancer_reward(r->b), false);
}

static void compare(void *self, const sample *s)
{
    reading *r = (reading *)self;
    bool right = strcmp(s->balancer, r->balancer) == 0 && strcmp(s->stamp, r->stamp) == 0;

    if (s->index < 0) {
        r->of_balancer++;
        right = right && right_of_balancer(r, s, s->what + strlen("rllb_balancer_"));
    } else {
        if (s->index != r->server_index) {
            r->server_index = s->index;
            memset(&r->info, 0, sizeof r->info);
            if (rllb_balancer_server(r->b, s->index, &r->info) != RLLB_OK) r->info.state = RLLB_SERVER_NONE;
            spell(r->info.name, r->format, r->server);
        }
        r->of_servers++;
        right = right && r->info.state != RLLB_SERVER_NONE && strcmp(s->server, r->server) == 0 &&
                right_of_server(r, s, s->what + strlen("rllb_server_"));
    }
    if (!right && !r->wrong++) NOTE("%s of %d: \"%s\" %s %s", s->what, (int)s->index, s->server, s->state, s->value);
}

#define COUNT_ONE(name, words) +1
enum { COUNTERS = 0 RLLB_COUNTER_LIST(COUNT_ONE) };
#undef COUNT_ONE

static char text[8 << 20];

/* Writes everything, reads it, compares every number with what the balancer says otherwise; returns the bytes. */
static size_t check_all(const rllb_balancer *b, rllb_metrics_format format, double now_s, const char *stamp)
{
    bool influx = format == RLLB_METRICS_INFLUX;
    int32_t servers = 0, finite = 0, samples, i;
    size_t size = rllb_balancer_metrics(b, format, now_s, text, sizeof text);
    rllb_balancer_desc resolved;
    rllb_server_info info;
    static reading r;

    memset(&r, 0, sizeof r);
    memset(&resolved, 0, sizeof resolved);
    r.b = b;
    r.format = format;
    r.stamp = stamp;
    r.server_index = -1;
    rllb_balancer_query(b, &resolved);
    spell(resolved.name, format, r.balancer);
    rllb_balancer_counters(b, &r.counters);
    for (i = 0; i < rllb_balancer_servers(b); i++) {
        if (rllb_balancer_server(b, i, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) continue;
        servers++;
        finite += isfinite(info.weight) + isfinite(info.weight_in_force) + isfinite(info.duration_sum_s) +
                  isfinite(info.duration_s) + isfinite(info.unloaded_s);
    }
    CHECK_EQ_I(size, strlen(text) + 1);
    samples = influx ? read_influx(text, compare, &r) : read_prometheus(text, compare, &r);
    CHECK_EQ_I(r.wrong, 0);
    CHECK_EQ_I(samples, r.of_balancer + r.of_servers);
    CHECK_EQ_I(r.of_balancer, COUNTERS + (influx && !isfinite(rllb_balancer_reward(b)) ? 0 : 1));
    CHECK_EQ_I(r.of_servers, influx ? servers * (FIGURES - 5 + 1) + finite : servers * (FIGURES + 4));
    return size;
}

static void check_both(const rllb_balancer *b)
{
    check_all(b, RLLB_METRICS_PROMETHEUS, 1, "");
    check_all(b, RLLB_METRICS_INFLUX, 12.5, "12500000000");
}

/* ---- balancers to tell of ---------------------------------------------------------------------------------- */

/* Names that some writer of some format got wrong. */
static const char *const hostile[] = {
    "plain", "plain", "with space", "a,b=c", "back\\slash", "at the end\\", "a\\,b\\\\=c\\ ", "\"quoted\"",
    "new\nline", "\r\n\t\v\f\x7f", "{a=\"b\"} 1", "# HELP me", "", "\xc3\xbcml\xc3\xa4ut \xf0\x9f\x98\x80",
    "\xff\xfe", "\xc0\x80 \xe0\x80\x80 \xf0\x80\x80\x80", "\xed\xa0\x80 \xf4\x90\x80\x80 \xf8\x88\x80\x80\x80",
    "\xe2\x82", "\x80 alone", "%s%n%d",
    "thirty bytes and then one: two\xc3\xb6", "thirty bytes and then one: two\xc3\xb6 more", "i", "\\n", "'", ",", " ",
    "="
};
enum { HOSTILE = sizeof hostile / sizeof hostile[0] };

/* Servers by these names, weights of all sizes. Requests that ended, in times of all sizes; that failed until servers
   were ejected; that were lost; that go on. Calls that were wrong. One server drains, one is down, one is gone. */
static rllb_balancer *busy(int32_t count, const char *name, int32_t slots)
{
    static rllb_server_desc servers[SERVERS_MAX];
    rllb_balancer_desc desc;
    rllb_balancer *b;
    rllb_rng rng;
    double now = 0;
    int32_t i;

    rllb_rng_init(&rng, 5, 0);
    memset(servers, 0, sizeof servers);
    for (i = 0; i < count; i++) {
        servers[i].name = i < HOSTILE ? hostile[i] : NULL;
        servers[i].weight = (float)pow(10, 4 * rllb_rng_double(&rng) - 2);
    }
    rllb_balancer_desc_default(&desc);
    desc.servers = servers;
    desc.count = count;
    desc.name = name;
    desc.slots = slots;
    b = rllb_balancer_create(&desc);
    if (!b) return NULL;
    for (i = 0; i < 8 * count && i < 800; i++) {
        int32_t server = rllb_balancer_pick(b, 0, now);
        bool fails = i >= 6 * count || i >= 600;
        double started = now;
        now += fails ? 1e-6 : exp(rllb_rng_normal(&rng) * 4 - 6);
        if (i % 5) rllb_balancer_done(b, server, started, now, fails ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK);
        if (i == 100) rllb_balancer_resync(b, 0, now);
        rllb_balancer_tick(b, now);
    }
    rllb_balancer_tick(b, now += 0.5); /* here the failures are seen */
    rllb_balancer_done(b, SERVERS_MAX + 7, now, now, RLLB_OUTCOME_OK);
    rllb_balancer_pick(b, 0, (double)NAN);
    if (count > 4) {
        rllb_balancer_set_state(b, 1, RLLB_SERVER_DRAINING, now);
        rllb_balancer_set_state(b, 2, RLLB_SERVER_DOWN, now);
        rllb_balancer_remove(b, 3, now);
    }
    return b;
}

/* ---- tests ------------------------------------------------------------------------------------------------- */

/* Otherwise all that follows would compare zeros. */
TEST(the_busy_balancer_has_much_to_tell)
{
    rllb_balancer *b = busy(24, NULL, 16);
    int32_t states[RLLB_SERVER_STATE_NUM] = { 0 }, unusable = 0, i;
    rllb_server_info sum, info;
    rllb_counters c;

    REQUIRE(b);
    memset(&sum, 0, sizeof sum);
    for (i = 0; i < rllb_balancer_servers(b); i++) {
        REQUIRE(rllb_balancer_server(b, i, &info) == RLLB_OK);
        states[info.state]++;
        unusable += !info.usable;
        sum.picks += info.picks;
        sum.done += info.done;
        sum.failed += info.failed;
        sum.lost += info.lost;
        sum.ejections += info.ejections;
        sum.samples += info.samples;
        sum.in_flight += info.in_flight;
        sum.duration_sum_s += info.duration_sum_s;
        sum.duration_s += info.duration_s;
        sum.unloaded_s += info.unloaded_s;
    }
    CHECK(sum.picks > sum.done && sum.done > sum.failed && sum.failed > 0 && sum.samples > 0);
    CHECK(sum.lost > 0 && sum.ejections > 0 && sum.in_flight > 0 && sum.in_flight != (int64_t)sum.lost);
    CHECK(sum.duration_sum_s > 0 && sum.duration_s > 0 && sum.unloaded_s > 0);
    CHECK(isfinite(rllb_balancer_reward(b)) && fabs(rllb_balancer_reward(b)) > 0);
    CHECK(unusable > 0 && unusable < 24);
    for (i = 0; i < RLLB_SERVER_STATE_NUM; i++) CHECK(states[i] > 0);
    rllb_balancer_counters(b, &c);
    CHECK(c.bad_server == 1 && c.bad_time > 0 && c.ejections == sum.ejections && c.lost == sum.lost);
    rllb_balancer_destroy(b);
}

TEST(every_figure_is_what_the_balancer_says)
{
    rllb_balancer *b = busy(8, NULL, 16);
    rllb_server_info info;

    REQUIRE(b);
    REQUIRE(rllb_balancer_server(b, 0, &info) == RLLB_OK);
    check_both(b);
    check_all(b, RLLB_METRICS_PROMETHEUS, 1, "");
    CHECK(strstr(text, "rllb_balancer_picks") == NULL);
    CHECK(strstr(text, "{balancer=\"rllb\"} "));
    CHECK(strstr(text, "rllb_server_state{balancer=\"rllb\",index=\"1\",server=\"plain\",state=\"draining\"} 1\n"));
    CHECK(strstr(text, "rllb_server_state{balancer=\"rllb\",index=\"1\",server=\"plain\",state=\"up\"} 0\n"));
    CHECK(strstr(text, "rllb_server_state{balancer=\"rllb\",index=\"2\",server=\"with space\",state=\"down\"} 1\n"));
    CHECK(strstr(text, "index=\"4\""));
    CHECK(!strstr(text, "index=\"3\""));
    check_all(b, RLLB_METRICS_INFLUX, 0, "0");
    CHECK(strstr(text, "\nrllb_server,balancer=rllb,index=2,server=with\\ space picks_total="));
    CHECK(strstr(text, "usable=0i,state=\"down\" 0\n"));
    rllb_balancer_destroy(b);
}

TEST(no_reward_is_nan_or_nothing)
{
    rllb_balancer *b = busy(2, "x", 0);

    REQUIRE(b);
    CHECK(!isfinite(rllb_balancer_reward(b)));
    check_both(b);
    CHECK(!strstr(text, "reward"));
    check_all(b, RLLB_METRICS_PROMETHEUS, 1, "");
    CHECK(strstr(text, "\nrllb_balancer_reward{balancer=\"x\"} NaN\n"));
    rllb_balancer_destroy(b);
}

TEST(no_servers)
{
    rllb_balancer *b = busy(0, NULL, 0);

    REQUIRE(b);
    check_both(b);
    CHECK(!strstr(text, "rllb_server"));
    rllb_balancer_destroy(b);
}

/* The words after # HELP are those of the list. */
TEST(counters_are_explained)
{
    rllb_balancer *b = busy(1, NULL, 0);

    REQUIRE(b);
    REQUIRE(rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, 0, text, sizeof text) > 1);
#define IS_EXPLAINED(name, words)                                             \
    CHECK(strstr(text, "# HELP rllb_balancer_" #name "_total " words "\n" \
                       "# TYPE rllb_balancer_" #name "_total counter\nrllb_balancer_" #name "_total{"));
    RLLB_COUNTER_LIST(IS_EXPLAINED)
#undef IS_EXPLAINED
    rllb_balancer_destroy(b);
}

TEST(hostile_names)
{
    rllb_balancer *b;
    int32_t i;

    for (i = 0; i < HOSTILE; i++) {
        b = busy(HOSTILE, hostile[i], 0);
        REQUIRE(b);
        check_both(b);
        rllb_balancer_destroy(b);
    }
    b = busy(HOSTILE, "a \"b\",\\c=\nd", 4);
    REQUIRE(b);
    check_all(b, RLLB_METRICS_PROMETHEUS, 0, "");
    CHECK(strstr(text, "{balancer=\"a \\\"b\\\",\\\\c=\\nd\",index=\"8\",server=\"new\\nline\"} "));
    CHECK(strstr(text, "server=\"a\\\\,b\\\\\\\\=c\\\\ \""));
    check_all(b, RLLB_METRICS_INFLUX, 0, "0");
    CHECK(strstr(text, "\nrllb_server,balancer=a\\ \"b\"\\,_c\\=_d,index=8,server=new_line picks_total="));
    CHECK(strstr(text, ",index=5,server=at\\ the\\ end_ "));
    rllb_balancer_destroy(b);
}

/* Bytes that are no UTF-8, or too much of it: the slow reader of this file agrees with the library about each. */
TEST(utf8)
{
    static const unsigned char edge[] = { 0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                                          0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
    enum { EDGES = sizeof edge };
    char c[5] = "";
    int32_t differ = 0, i;

    for (i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
        c[0] = (char)edge[i % EDGES];
        c[1] = (char)edge[i / EDGES % EDGES];
        c[2] = (char)edge[i / EDGES / EDGES % EDGES];
        c[3] = (char)edge[i / EDGES / EDGES / EDGES];
        differ += rllb_i_utf8(c) != utf8(c);
    }
    CHECK_EQ_I(differ, 0);
}

/* ---- numbers ----------------------------------------------------------------------------------------------- */

static const char *written(double v, int32_t digits)
{
    static char words[64];
    rllb_i_teller t;

    memset(&t, 0, sizeof t);
    t.text = words;
    t.size = sizeof words;
    rllb_i_put_real(&t, v, digits);
    words[t.used] = 0;
    return words;
}

static const char *written_whole(int64_t v)
{
    static char words[64];
    rllb_i_teller t;

    memset(&t, 0, sizeof t);
    t.text = words;
    t.size = sizeof words;
    rllb_i_put_whole(&t, v);
    words[t.used] = 0;
    return words;
}

TEST(numbers_look_as_one_writes_them)
{
    CHECK_STR(written(0, 9), "0");
    CHECK_STR(written(1, 9), "1");
    CHECK_STR(written(-1, 9), "-1");
    CHECK_STR(written(0.1, 15), "0.1");
    CHECK_STR(written(0.3 - 0.2, 15), "0.1");
    CHECK_STR(written((double)0.1f, 9), "0.100000001");
    CHECK_STR(written(0.00025, 15), "0.00025");
    CHECK_STR(written(1200, 9), "1200");
    CHECK_STR(written(123456789, 9), "123456789");
    CHECK_STR(written(999999999999.75, 15), "999999999999.75");
    CHECK_STR(written(9.9999999999, 9), "10");
    CHECK_STR(written(0.99999999999, 9), "1");
    CHECK_STR(written(1e-9, 9), "0.000000001");
    CHECK_STR(written(1.5e-16, 9), "0.00000000000000015");
    CHECK_STR(written(1.5e-17, 9), "15e-18");
    CHECK_STR(written(2.5e-40, 9), "25e-41");
    CHECK_STR(written(-2.5e300, 15), "-250000000000000e286");
    CHECK_STR(written((double)NAN, 9), "NaN");
    CHECK_STR(written((double)INFINITY, 9), "+Inf");
    CHECK_STR(written(-(double)INFINITY, 9), "-Inf");
    CHECK_STR(written_whole(0), "0");
    CHECK_STR(written_whole(9007199254740993), "9007199254740993");
    CHECK_STR(written_whole(-10), "-10");
    CHECK_STR(written_whole(INT64_MAX), "9223372036854775807");
    CHECK_STR(written_whole(INT64_MIN), "-9223372036854775808");
}

/* Any bits: a float comes back the same, a double within half a unit of its 15th digit (or of its last bit, among the
   least of all). The C library reads; the locale is "C" here. */
TEST(numbers_come_back)
{
    int32_t wrong_floats = 0, wrong_doubles = 0, badly_written = 0, i;
    double worst = 0;
    rllb_rng rng;

    rllb_rng_init(&rng, 17, 0);
    for (i = 0; i < 100000; i++) {
        uint64_t bits = rllb_rng_u64(&rng);
        uint32_t half = (uint32_t)(bits >> 32);
        double v, off;
        float f;
        memcpy(&f, &half, sizeof f);
        memcpy(&v, &bits, sizeof v);
        if (i % 2) v = exp(rllb_rng_normal(&rng) * 10);
        if (isfinite(f)) {
            float read = strtof(written((double)f, 9), NULL);
            wrong_floats += read < f || read > f;
            badly_written += !is_number(written((double)f, 9), false);
        }
        if (!isfinite(v) || fabs(v) > 1.7e308) continue;
        badly_written += !is_number(written(v, 15), false);
        off = fabs(strtod(written(v, 15), NULL) - v);
        wrong_doubles += off > 5.5e-15 * fabs(v) + 5e-324;
        if (fabs(v) > 1e-300 && off / fabs(v) > worst) worst = off / fabs(v);
    }
    NOTE("doubles are off by %.1e at most", worst);
    CHECK_EQ_I(wrong_floats, 0);
    CHECK_EQ_I(wrong_doubles, 0);
    CHECK_EQ_I(badly_written, 0);
}

/* The same for a weight, all the way: whatever bits it has. */
TEST(weights_come_back)
{
    rllb_balancer *b = busy(64, NULL, 0);
    rllb_server_info info;
    rllb_rng rng;
    int32_t i, round;

    REQUIRE(b);
    rllb_rng_init(&rng, 18, 0);
    for (round = 0; round < 10; round++) {
        for (i = 0; i < 64; i++) {
            uint32_t bits = (uint32_t)(rllb_rng_u64(&rng) >> 33);
            float weight;
            memcpy(&weight, &bits, sizeof weight);
            if (!isfinite(weight) || !(weight > 0)) continue;
            rllb_balancer_set_weight(b, i, weight, 1e6);
            if (rllb_balancer_server(b, i, &info) != RLLB_OK || info.state == RLLB_SERVER_NONE) continue;
            CHECK(info.weight >= weight && info.weight <= weight);
        }
        check_both(b);
    }
    rllb_balancer_destroy(b);
}

/* ---- the caller's buffer ----------------------------------------------------------------------------------- */

TEST(every_buffer_size)
{
    static char part[1 << 14];
    rllb_balancer *b = busy(2, "any", 8);
    int32_t f;

    REQUIRE(b);
    for (f = 0; f < 2; f++) {
        rllb_metrics_format format = f ? RLLB_METRICS_INFLUX : RLLB_METRICS_PROMETHEUS;
        size_t full = check_all(b, format, 3, f ? "3000000000" : ""), whole = 0, wrong = 0, size;
        REQUIRE(full > 1000 && full + 70 < sizeof part);
        CHECK_EQ_U(rllb_balancer_metrics(b, format, 3, NULL, 0), full);
        CHECK_EQ_U(rllb_balancer_metrics(b, format, 3, NULL, 100), full);
        for (size = 0; size <= full + 5; size++) {
            size_t i;
            if (size > 1 && size <= full && text[size - 2] == '\n') whole = size - 1; /* that many fit, and the 0 */
            memset(part, 0x5a, size + 64);
            wrong += rllb_balancer_metrics(b, format, 3, part, size) != full;
            wrong += size && (memcmp(part, text, whole) != 0 || part[whole] != 0);
            for (i = size; i < size + 64; i++) wrong += part[i] != 0x5a;
        }
        CHECK_EQ_U(whole, full - 1);
        CHECK_EQ_U(wrong, 0);
    }
    rllb_balancer_destroy(b);
}

TEST(refused)
{
    rllb_balancer *b = busy(1, NULL, 0);
    const int32_t none[2] = { 2, -1 };
    rllb_metrics_format format;
    char c[4] = "xyz";
    int32_t i;

    REQUIRE(b);
    CHECK_EQ_U(rllb_balancer_metrics(NULL, RLLB_METRICS_PROMETHEUS, 0, c, sizeof c), 0);
    CHECK_STR(c, "");
    for (i = 0; i < 2; i++) {
        memcpy(c, "xyz", 4);
        memcpy(&format, &none[i], sizeof format);
        CHECK_EQ_U(rllb_balancer_metrics(b, format, 0, c, sizeof c), 0);
        CHECK_STR(c, "");
        CHECK_EQ_U(rllb_balancer_metrics(b, format, 0, NULL, 0), 0);
    }
    rllb_balancer_destroy(b);
}

/* ---- time, size, place ------------------------------------------------------------------------------------- */

TEST(stamps)
{
    static const struct {
        double now_s;
        const char *stamp;
    } at[] = { { 0, "0" },
               { 1.5, "1500000000" },
               { -1.5, "-1500000000" },
               { 1e-9, "1" },
               { 0.9999999999, "1000000000" },
               { 1700000000.25, "1700000000250000000" },
               { 9e9, "9000000000000000000" },
               { -9e9, "-9000000000000000000" },
               { 9.3e9, "" },
               { -1e300, "" },
               { (double)INFINITY, "" },
               { -(double)INFINITY, "" },
               { (double)NAN, "" } };
    rllb_balancer *b = busy(3, NULL, 0);
    size_t i;

    REQUIRE(b);
    for (i = 0; i < sizeof at / sizeof at[0]; i++) {
        check_all(b, RLLB_METRICS_INFLUX, at[i].now_s, at[i].stamp);
        check_all(b, RLLB_METRICS_PROMETHEUS, at[i].now_s, "");
    }
    rllb_balancer_destroy(b);
}

TEST(as_many_servers_as_there_can_be)
{
    rllb_balancer *few = busy(64, NULL, 0), *many = busy(SERVERS_MAX, NULL, 0);
    size_t bytes_few, bytes_many, bytes_influx;
    clock_t start;

    REQUIRE(few && many);
    CHECK_EQ_I(rllb_balancer_servers(many), SERVERS_MAX);
    bytes_few = check_all(few, RLLB_METRICS_PROMETHEUS, 0, "");
    start = clock();
    bytes_many = rllb_balancer_metrics(many, RLLB_METRICS_PROMETHEUS, 0, NULL, 0);
    NOTE("%d servers: %lu bytes for Prometheus, counted in %.1f ms", (int)SERVERS_MAX, (unsigned long)bytes_many,
         1e3 * (double)(clock() - start) / (double)CLOCKS_PER_SEC);
    CHECK_EQ_U(check_all(many, RLLB_METRICS_PROMETHEUS, 0, ""), bytes_many);
    bytes_influx = rllb_balancer_metrics(many, RLLB_METRICS_INFLUX, 0, NULL, 0);
    CHECK_EQ_U(check_all(many, RLLB_METRICS_INFLUX, 0, "0"), bytes_influx);
    CHECK(bytes_many < bytes_few * SERVERS_MAX / 64);
    rllb_balancer_destroy(few);
    rllb_balancer_destroy(many);
}

/* Where printf would write a comma. */
TEST(locale)
{
    static const char *const comma[] = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8", "fr_FR",
                                         "es_ES.UTF-8", "it_IT.UTF-8", "pt_BR.UTF-8", "nl_NL.UTF-8", "ru_RU.UTF-8" };
    rllb_balancer *b;
    size_t i, n = sizeof comma / sizeof comma[0];

    for (i = 0; i < n && !(setlocale(LC_ALL, comma[i]) && localeconv()->decimal_point[0] == ','); i++) {}
    if (i == n) {
        setlocale(LC_ALL, "C");
        SKIP("no locale with a decimal comma is installed");
    }
    NOTE("locale %s", comma[i]);
    b = busy(5, NULL, 8);
    if (b) check_both(b);
    setlocale(LC_ALL, "C");
    REQUIRE(b);
    rllb_balancer_destroy(b);
}
