/* source.c - where readings come from, asked again and again

       influx1:URL                InfluxDB 1.x, Telegraf's schema          token: user:password, or one for Bearer
       collectd:URL               InfluxDB 1.x, fed by collectd            the same
       influx2:URL                InfluxDB 2.x                             token: API token
       prometheus:[NAME=]URL,...  node_exporter, one for each client       token: as of influx1
       prometheus:URL             with {} in it: the address of each client there is
       file:PATH                  a table, read anew when it changed       see table.c

   A poll is due every interval_s, whether or not anybody wants it; one that is still under way is not doubled. What
   goes wrong is said once, and once more when it goes well again, at most one complaint a minute; ud_source_failing
   tells at any time. Readings that came before stay, and grow old (metrics.c).

   The token goes into one header and nowhere else: not into an address, not into a message, even where the database
   sends it back. So that it does not stand in the list of processes, name a file, @FILE, or set INFLUX_TOKEN.

   node_exporter counts seconds of processors: what is in use between two polls is made here, for each host. Its clock
   is not ours: two answers are as far apart as node_time_seconds says, but as fresh as they are. */

#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TOKEN_MOST = 1024, SECRET_MOST = 4 * (TOKEN_MOST + 2) / 3 + 4, HEADER_MOST = SECRET_MOST + 32 };
#define FILE_BYTES_MOST ((size_t)4 << 20)
#define RANGE_S 60.0       /* the database is asked for so much of the past, more where more is not stale */
#define COMPLAIN_S 60.0
#define SETTLED_S 0.1      /* a file written later than that may be written on within one tick of its clock */
#define OFFSET_S 1.0       /* a clock there that moved more against ours was set */

typedef enum kind { NONE, INFLUX1, COLLECTD, INFLUX2, PROMETHEUS, TABLE, KINDS } kind;
static const char *const kind_name[KINDS] = { "", "influx1:", "collectd:", "influx2:", "prometheus:", "file:" };

/* Who is asked; of a database there is one. */
typedef struct target {
    struct ud_source *source;
    char *url, *body;         /* body NULL: GET */
    char shown[80];           /* for messages */
    char host[UD_NAME_MOST];  /* PROMETHEUS: whom the answer is of */
    char address[64];         /* of a template: that it was made for */
    bool busy, wanted;        /* wanted: of a template, that client is there */
    bool complained;
    int32_t failures;
    char why[160];
    double idle_s, all_s;     /* counters of the latest answer; NaN: none */
    int32_t cpus;
    double offset_s;          /* our clock less that there; NaN: not known */
} target;

struct ud_source {
    kind kind;
    double interval_s, range_s, timeout_s;
    ud_web *web;
    target target[UD_CLIENTS_MOST];
    int32_t targets;
    char *template;           /* PROMETHEUS with {}; targets are by client then */
    char path[UD_TEXT_MOST];  /* TABLE */
    struct stat seen;         /* the file that was read last */
    bool seen_any;
    char token[TOKEN_MOST], secret[SECRET_MOST], header[HEADER_MOST]; /* secret: the token as it is sent */
    double due_s, complain_s;
    ud_reading *reading;
    /* Of the turn under way: */
    ud_metrics *metrics;
    double unix_s, now_s;
};

/* ---- well or not ------------------------------------------------------------------------------------------------- */

/* Where the token stands in a text that others wrote it is struck out, and the beginning of it where the text ends. */
static void strike(char *text, const char *secret)
{
    size_t n = strlen(secret), size = strlen(text), part;
    char *at = text;

    if (n == 0) return;
    while ((at = strstr(at, secret)) != NULL) {
        memset(at, '*', n);
        at += n;
    }
    for (part = n < size ? n : size; part >= 4; part--) {
        if (memcmp(text + size - part, secret, part) == 0) memset(text + size - part, '*', part);
    }
}

static void failed(ud_source *s, target *t, const char *why)
{
    if (why != t->why) snprintf(t->why, sizeof t->why, "%s", why);
    strike(t->why, s->token);
    strike(t->why, s->secret);
    if (t->failures < INT32_MAX) t->failures++;
    if (t->complained || s->now_s < s->complain_s) return;
    ex_warn("metrics: %s: %s", t->shown, t->why);
    t->complained = true;
    s->complain_s = s->now_s + COMPLAIN_S;
}

static void well(target *t)
{
    if (t->complained) ex_warn("metrics: %s is well again after %d polls", t->shown, (int)t->failures);
    t->complained = false;
    t->failures = 0;
}

int32_t ud_source_failing(const ud_source *s, char why[160])
{
    int32_t i, worst = 0;

    why[0] = '\0';
    for (i = 0; i < s->targets; i++) {
        const target *t = &s->target[i];
        if (t->failures <= worst) continue;
        worst = t->failures;
        ud_wrong(why, "%.70s: %.80s", t->shown, t->why);
    }
    return worst;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* Share of processors in use since the last answer; and the stamp, by our clock. */
static void difference(target *t, ud_reading *r, double unix_s)
{
    double idle = r->idle_s - t->idle_s, all = r->all_s - t->all_s;

    if (!isnan(t->idle_s) && r->cpus == t->cpus && all > 0 && idle >= -0.05 * all && idle <= 1.05 * all) {
        r->cpu_percent = 100 * fmin(fmax(1 - idle / all, 0), 1);
    }
    t->idle_s = r->idle_s;
    t->all_s = r->all_s;
    t->cpus = r->cpus;
    if (!(fabs(r->at_s + t->offset_s - unix_s) < OFFSET_S)) t->offset_s = unix_s - r->at_s;
    r->at_s += t->offset_s;
}

static int32_t parse(target *t, const char *text, size_t size, char why[160])
{
    ud_source *s = t->source;
    int32_t count = -1;

    if (s->kind == PROMETHEUS) {
        count = ud_parse_prometheus(t->host, text, size, s->unix_s, s->reading, why);
        if (count == 1) difference(t, s->reading, s->unix_s);
    } else if (s->kind == INFLUX2) {
        count = ud_parse_influx2(text, size, s->reading, UD_READINGS_MOST, why);
    } else {
        count = ud_parse_influx1(text, size, s->reading, UD_READINGS_MOST, why);
    }
    if (count == 0 && s->kind == PROMETHEUS) ud_wrong(why, "no metrics of node_exporter in the answer");
    else if (count == 0) ud_wrong(why, "the database has no metrics of the last %.0f s", s->range_s);
    return count;
}

/* What an answer other than 200 says, in a line. */
static void refusal(const ud_source *s, const ud_answer *a, char why[160])
{
    char words[160] = "";

    if (a->status == 0) {
        ud_wrong(why, "%.150s", a->text);
        return;
    }
    if (s->kind != PROMETHEUS) ud_influx_error(a->text, a->size, words);
    ud_wrong(why, "HTTP %d%s%.120s", (int)a->status, words[0] ? ": " : "", words);
}

static void on_answer(void *user, const ud_answer *a)
{
    target *t = user;
    ud_source *s = t->source;
    int32_t count = -1, i;
    char why[160] = "";

    t->busy = false;
    if (s->template && !t->wanted) return;
    if (a->status == 200) count = parse(t, a->text, a->size, why);
    else refusal(s, a, why);
    if (count <= 0) {
        failed(s, t, why);
        return;
    }
    well(t);
    for (i = 0; i < count; i++) ud_metrics_take(s->metrics, &s->reading[i], s->unix_s, s->now_s);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void ask(ud_source *s, target *t)
{
    const char *headers[4];
    int32_t n = 0;

    if (t->busy || !t->url) return;
    if (s->header[0]) headers[n++] = s->header;
    if (s->kind == INFLUX2) headers[n++] = "Content-Type: application/json";
    if (s->kind == INFLUX2) headers[n++] = "Accept: application/csv";
    headers[n] = NULL;
    t->busy = ud_web_ask(s->web, t->url, headers, t->body, NULL, s->timeout_s, on_answer, t);
    if (!t->busy) failed(s, t, "cannot be asked");
}

/* Only what an address of IP is made of, so that nothing else gets into a URL. */
static bool is_address(const char *text)
{
    size_t n = strlen(text);

    return n > 0 && strspn(text, "0123456789abcdefABCDEF.:") == n;
}

/* The address in the place of {}. */
static char *filled(const char *template, const char *address)
{
    const char *at = strstr(template, "{}");
    bool six = strchr(address, ':') != NULL;
    ex_text t = { NULL, 0, 0, false };

    ex_text_printf(&t, "%.*s%s%s%s%s", (int)(at - template), template, six ? "[" : "", address, six ? "]" : "", at + 2);
    if (!t.failed) return t.data;
    ex_text_free(&t);
    return NULL;
}

static void target_begin(ud_source *s, target *t, const char *host)
{
    t->source = s;
    t->idle_s = t->all_s = t->offset_s = UD_NAN;
    t->failures = 0;
    t->complained = false;
    snprintf(t->host, sizeof t->host, "%s", host);
}

/* The clients there are now, each its target. One that is asked still keeps its words until that is over. */
static void targets_follow(ud_source *s)
{
    int32_t i;

    for (i = 0; i < UD_CLIENTS_MOST; i++) {
        const char *name, *address;
        target *t = &s->target[i];
        t->wanted = ud_metrics_client(s->metrics, i, &name, &address) && is_address(address);
        if (!t->wanted) t->failures = 0;
        if (!t->wanted || t->busy || (strcmp(t->host, name) == 0 && strcmp(t->address, address) == 0)) continue;
        free(t->url);
        t->url = filled(s->template, address);
        snprintf(t->address, sizeof t->address, "%s", address);
        snprintf(t->shown, sizeof t->shown, "%.*s", (int)strcspn(t->url ? t->url : "", "?"), t->url ? t->url : "");
        target_begin(s, t, name);
        if (i >= s->targets) s->targets = i + 1;
    }
}

/* ---- a file ------------------------------------------------------------------------------------------------------ */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* All of it, at most FILE_BYTES_MOST. ex_file_read would complain by itself, at every poll. */
static bool whole_file(int fd, ex_text *out, char why[160])
{
    char part[16384];
    ssize_t got = 1;

    while (got > 0 && out->size <= FILE_BYTES_MOST) {
        got = read(fd, part, sizeof part);
        if (got > 0) ex_text_add(out, part, (size_t)got);
        if (got < 0 && errno == EINTR) got = 1;
    }
    if (got < 0) return ud_wrong(why, "%s", strerror(errno));
    if (out->failed) return ud_wrong(why, "not enough memory");
    return out->size <= FILE_BYTES_MOST || ud_wrong(why, "larger than 4 MiB");
}

static int32_t file_read(ud_source *s, const struct stat *about, char why[160])
{
    double written_s = (double)about->st_mtim.tv_sec + 1e-9 * (double)about->st_mtim.tv_nsec;
    ex_text text = { NULL, 0, 0, false };
    int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int32_t count = -1, i;

    if (fd < 0) return ud_wrong(why, "%s", strerror(errno)) ? 0 : -1;
    if (whole_file(fd, &text, why)) {
        count = ud_parse_table(text.data ? text.data : "", text.size, s->reading, UD_READINGS_MOST, why);
    }
    close(fd);
    ex_text_free(&text);
    if (count == 0) ud_wrong(why, "no readings in it");
    for (i = 0; i < count; i++) {
        if (isnan(s->reading[i].at_s)) s->reading[i].at_s = written_s;
        ud_metrics_take(s->metrics, &s->reading[i], s->unix_s, s->now_s);
    }
    return count;
}

static void file_poll(ud_source *s)
{
    target *t = &s->target[0];
    struct stat about;
    char why[160] = "";

    memset(&about, 0, sizeof about);
    if (stat(s->path, &about) != 0) {
        s->seen_any = false;
        failed(s, t, strerror(errno));
        return;
    }
    if (!S_ISREG(about.st_mode)) {
        failed(s, t, "is no file");
        return;
    }
    if (s->seen_any && same_file(&about, &s->seen)) {
        if (t->failures > 0) failed(s, t, t->why);
        return;
    }
    s->seen = about;
    s->seen_any = s->unix_s - (double)about.st_mtim.tv_sec - 1e-9 * (double)about.st_mtim.tv_nsec > SETTLED_S;
    if (file_read(s, &about, why) > 0) well(t);
    else failed(s, t, why);
}

/* ---- a turn ------------------------------------------------------------------------------------------------------ */

void ud_source_turn(ud_source *s, ud_metrics *m, double unix_s, double now_s)
{
    int32_t i;

    s->metrics = m;
    s->unix_s = unix_s;
    s->now_s = now_s;
    if (now_s >= s->due_s) {
        s->due_s = s->due_s + s->interval_s > now_s ? s->due_s + s->interval_s : now_s + s->interval_s;
        if (s->template) targets_follow(s);
        if (s->kind == TABLE) file_poll(s);
        for (i = 0; i < s->targets && s->kind != TABLE; i++) {
            if (!s->template || s->target[i].wanted) ask(s, &s->target[i]);
        }
    }
    if (s->web) ud_web_turn(s->web, 0);
}

void ud_source_wait(ud_source *s, double wait_s)
{
    struct timespec pause;

    if (s->web) {
        ud_web_wait(s->web, wait_s);
    } else if (wait_s > 0 && wait_s < 1000) {
        pause.tv_sec = (time_t)wait_s;
        pause.tv_nsec = (long)(1e9 * (wait_s - (double)pause.tv_sec));
        nanosleep(&pause, NULL);
    }
}

/* ---- the token --------------------------------------------------------------------------------------------------- */

/* RFC 4648. */
static void base64(const char *text, char *to)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)text;
    size_t n = strlen(text);

    for (; n > 0; at += 3, n -= n < 3 ? n : 3) {
        uint32_t b = (uint32_t)at[0] << 16 | (n > 1 ? (uint32_t)at[1] << 8 : 0) | (n > 2 ? (uint32_t)at[2] : 0);
        *to++ = digit[b >> 18];
        *to++ = digit[b >> 12 & 63];
        *to++ = n > 1 ? digit[b >> 6 & 63] : '=';
        *to++ = n > 2 ? digit[b & 63] : '=';
    }
    *to = '\0';
}

static bool token_from_file(ud_source *s, const char *path)
{
    ex_text file = { NULL, 0, 0, false };
    bool fits;

    if (!ex_file_read(path, 4 * TOKEN_MOST, &file)) return false;
    while (file.size > 0 && (unsigned char)file.data[file.size - 1] <= ' ') file.size--;
    fits = file.size > 0 && file.size < sizeof s->token && !memchr(file.data, 0, file.size);
    if (fits) memcpy(s->token, file.data, file.size);
    s->token[fits ? file.size : 0] = '\0';
    ex_text_free(&file);
    return fits || ex_usage("token", "%s holds no token of 1 to %d bytes", path, TOKEN_MOST - 1) == EX_OK;
}

/* Never shows any of it. */
static bool token_set(ud_source *s, const ud_config *c)
{
    const char *of_environment = s->kind == PROMETHEUS ? NULL : getenv("INFLUX_TOKEN"), *at;

    if (c->token[0] == '@') {
        if (!token_from_file(s, c->token + 1)) return false;
    } else if (c->token[0] || (of_environment && strlen(of_environment) < sizeof s->token)) {
        snprintf(s->token, sizeof s->token, "%s", c->token[0] ? c->token : of_environment);
    }
    for (at = s->token; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 127) return ex_usage("token", "has a control character") == EX_OK;
    }
    if (!s->token[0]) return true;
    if (s->kind != INFLUX2 && strchr(s->token, ':')) base64(s->token, s->secret);
    snprintf(s->header, sizeof s->header, "Authorization: %s%s",
             s->secret[0] ? "Basic " : s->kind == INFLUX2 ? "Token " : "Bearer ", s->secret[0] ? s->secret : s->token);
    return true;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* Where the host begins; NULL: it is no http:// or https:// with one. */
static const char *host_of(const char *url)
{
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : strncmp(url, "https://", 8) == 0 ? url + 8 : NULL;

    return at && *at && *at != '/' && *at != ':' ? at : NULL;
}

/* False, and said: not an address that may be asked. */
static bool address_ok(const char *url)
{
    const char *host = host_of(url), *at;

    for (at = url; *at; at++) {
        if ((unsigned char)*at <= ' ' || *at == 127) return ex_usage("source", "has a blank in an address") == EX_OK;
    }
    if (!host) return ex_usage("source", "an address is http://HOST:PORT or https://HOST:PORT") == EX_OK;
    if (memchr(host, '@', strcspn(host, "/?#"))) {
        return ex_usage("source", "no user or password in an address: that is what --token is for") == EX_OK;
    }
    return true;
}

static bool target_url(ud_source *s, const char *url, const char *host)
{
    target *t = &s->target[s->targets++];

    t->url = calloc(1, strlen(url) + 1);
    if (!t->url) return ex_fail("not enough memory") == EX_OK;
    memcpy(t->url, url, strlen(url));
    snprintf(t->shown, sizeof t->shown, "%.*s", (int)strcspn(url, "?"), url);
    target_begin(s, t, host);
    return true;
}

/* [NAME=]URL; without a name it is the URL's host. */
static bool one_exporter(ud_source *s, char *text)
{
    char *equals = strchr(text, '='), *scheme = strstr(text, "://");
    const char *host, *url = text;
    char name[UD_NAME_MOST] = "";
    size_t n;

    if (equals && (!scheme || equals < scheme)) {
        *equals = '\0';
        url = equals + 1;
        if (!ud_name_ok(text)) return ex_usage("source", "'%.40s' is no name of a client", text) == EX_OK;
        memcpy(name, text, strlen(text) + 1);
    }
    if (!address_ok(url)) return false;
    host = host_of(url);
    if (!name[0]) {
        n = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":/?#");
        if (n >= sizeof name) return ex_usage("source", "'%.*s' wants a name: NAME=URL", (int)n, host) == EX_OK;
        memcpy(name, host, n);
    }
    if (s->targets == UD_CLIENTS_MOST) return ex_usage("source", "more than %d addresses", UD_CLIENTS_MOST) == EX_OK;
    return target_url(s, url, name);
}

static bool exporters(ud_source *s, const char *list)
{
    char text[UD_TEXT_MOST], *at = text, *comma;

    snprintf(text, sizeof text, "%s", list);
    if (strstr(text, "{}")) {
        if (strchr(text, ',')) return ex_usage("source", "one address with {} in it is for all clients") == EX_OK;
        if (!address_ok(text)) return false;
        s->template = calloc(1, strlen(text) + 1);
        if (!s->template) return ex_fail("not enough memory") == EX_OK;
        memcpy(s->template, text, strlen(text));
        return true;
    }
    for (; at; at = comma) {
        comma = strchr(at, ',');
        if (comma) *comma++ = '\0';
        if (!one_exporter(s, at)) return false;
    }
    return true;
}

static bool database(ud_source *s, const ud_config *c, const char *url)
{
    const char *name = c->database[0] ? c->database : "telegraf";
    ex_text address = { NULL, 0, 0, false }, body = { NULL, 0, 0, false };
    char base[UD_TEXT_MOST];
    size_t n;

    if (!address_ok(url)) return false;
    if (strpbrk(url, "?#")) return ex_usage("source", "an address without a query: what is asked is known") == EX_OK;
    if (s->kind == INFLUX2 && !c->org[0]) return ex_usage("org", "is missing: influx2 wants it") == EX_OK;
    snprintf(base, sizeof base, "%s", url);
    for (n = strlen(base); n > 0 && base[n - 1] == '/';) base[--n] = '\0';
    if (!target_url(s, base, "")) return false;
    if (s->kind != INFLUX2) ud_influx1_url(base, name, s->kind == COLLECTD, s->range_s, &address);
    else ud_influx2_url(base, c->org, &address);
    free(s->target[0].url);
    s->target[0].url = address.data;
    if (address.failed) return ex_fail("not enough memory") == EX_OK;
    if (s->kind == INFLUX2 && !ud_influx2_body(name, s->range_s, &body)) return false;
    s->target[0].body = body.data;
    return true;
}

static bool what_is_asked(ud_source *s, const ud_config *c, const char *rest)
{
    if (s->kind == TABLE) {
        if (!rest[0]) return ex_usage("source", "file: which?") == EX_OK;
        snprintf(s->path, sizeof s->path, "%s", rest);
        snprintf(s->target[0].shown, sizeof s->target[0].shown, "%.75s", rest);
        target_begin(s, &s->target[0], "");
        s->targets = 1;
        return true;
    }
    if (!token_set(s, c) || !ud_web_create(&s->web)) return false;
    return s->kind == PROMETHEUS ? exporters(s, rest) : database(s, c, rest);
}

static kind kind_of(const char *text)
{
    int32_t k;

    for (k = NONE + 1; k < KINDS; k++) {
        if (strncmp(text, kind_name[k], strlen(kind_name[k])) == 0) return (kind)k;
    }
    return NONE;
}

bool ud_source_create(const ud_config *c, ud_source **out)
{
    kind k = kind_of(c->source);
    ud_source *s;

    *out = NULL;
    if (k == NONE) {
        return ex_usage("source", "begins with influx1:, collectd:, influx2:, prometheus: or file:") == EX_OK;
    }
    s = calloc(1, sizeof *s);
    if (s) s->reading = calloc(UD_READINGS_MOST, sizeof *s->reading);
    if (!s || !s->reading) {
        free(s);
        return ex_fail("not enough memory") == EX_OK;
    }
    s->kind = k;
    s->interval_s = fmin(fmax(c->interval_s, 0.25), 10);
    s->timeout_s = fmin(fmax(4 * s->interval_s, 2), 10);
    s->range_s = fmin(fmax(ceil(2 * c->stale_s), RANGE_S), 86400);
    s->due_s = s->complain_s = -UD_INFINITY;
    if (!what_is_asked(s, c, c->source + strlen(kind_name[k]))) {
        ud_source_destroy(s);
        return false;
    }
    *out = s;
    return true;
}

void ud_source_destroy(ud_source *s)
{
    int32_t i;

    if (!s) return;
    ud_web_destroy(s->web);
    for (i = 0; i < UD_CLIENTS_MOST; i++) {
        free(s->target[i].url);
        free(s->target[i].body);
    }
    free(s->template);
    free(s->reading);
    memset(s->token, 0, sizeof s->token);
    memset(s->secret, 0, sizeof s->secret);
    memset(s->header, 0, sizeof s->header);
    free(s);
}
