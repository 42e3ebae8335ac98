/* send.c - where lines go, and what answers mean */

#include "agent.h"
#include "udp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_LEAST_S 1.0
#define PAUSE_MOST_S 30.0
#define PAUSE_WANTED_MOST_S 300.0

/* ---- targets ---------------------------------------------------------------------------------------------------- */

static bool begins(const char **text, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(*text, word, n) != 0) return false;
    *text += n;
    return true;
}

static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 32 || *text == 127) return false;
    }
    return true;
}

/* RFC 4648. */
static void base64(ex_text *t, const char *text)
{
    static const char sign[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(text), i, k;
    char four[4];

    for (i = 0; i < n; i += 3) {
        uint32_t three = 0;
        for (k = 0; k < 3; k++) three = three << 8 | (i + k < n ? (unsigned char)text[i + k] : 0);
        for (k = 0; k < 4; k++) four[k] = i + k > n ? '=' : sign[three >> (18 - 6 * k) & 63];
        ex_text_add(t, four, 4);
    }
}

/* Into a field of the target, which takes so many bytes. */
static bool fits(ex_text *t, char *out, size_t room)
{
    bool ok = !t->failed && t->data && t->size < room;

    if (ok) memcpy(out, t->data, t->size + 1);
    ex_text_free(t);
    return ok;
}

static int authorize(ua_target *out, const char *token)
{
    ex_text t = { 0 };

    if (!*token) return EX_GO_ON;
    if (!is_plain(token)) return ex_usage("token", "has a control character in it");
    if (out->kind == UA_INFLUX1 && !strchr(token, ':')) return ex_usage("token", "of influx1 is user:password");
    ex_text_printf(&t, "Authorization: %s ", out->kind == UA_INFLUX1 ? "Basic" : "Token");
    if (out->kind == UA_INFLUX1) base64(&t, token);
    else ex_text_printf(&t, "%s", token);
    return fits(&t, out->authorization, sizeof out->authorization) ? EX_GO_ON : ex_usage("token", "is too long");
}

/* Behind http:// or https://, or NULL. */
static const char *host_of(const char *url)
{
    return begins(&url, "http://") || begins(&url, "https://") ? url : NULL;
}

/* HOST[:PORT][/PATH] as far as end, without what has no place there. */
static bool is_place(const char *host, const char *end)
{
    if (end <= host || *host == '/') return false;
    for (; host < end; host++) {
        if (strchr(" \\\"@?#", *host)) return false;
    }
    return true;
}

static int bad_url(const char *url)
{
    if (strchr(url, '@')) { /* not repeated: it may have a password in it */
        return ex_usage("to", "has a user in its address: give user:password with --token @FILE");
    }
    return ex_usage("to", "'%.200s' is no address such as http://HOST:PORT", url);
}

/* InfluxQL in a form: the name in quotes, and what would end them escaped. */
static bool read_create(const char *url, const char *database, ua_target *out)
{
    ex_text t = { 0 }, name = { 0 };
    bool ok;

    for (; *database; database++) ex_text_printf(&name, strchr("\"\\", *database) ? "\\%c" : "%c", *database);
    ex_text_printf(&t, "q=CREATE%%20DATABASE%%20%%22");
    ex_text_escape(&t, name.failed || !name.data ? "" : name.data);
    ex_text_printf(&t, "%%22");
    ok = !name.failed && fits(&t, out->create, sizeof out->create);
    ex_text_free(&name);
    ex_text_printf(&t, "%s/query", url);
    return fits(&t, out->create_url, sizeof out->create_url) && ok;
}

static int read_influx1(const char *url, ua_target *out)
{
    const char *host = host_of(url), *database = host ? strrchr(host, '/') : NULL;
    ex_text t = { 0 };

    if (!host || !is_plain(url) || strpbrk(host, "?#") || !is_place(host, database ? database : host + strlen(host))) {
        return bad_url(url);
    }
    if (!database || !database[1]) {
        return ex_usage("to", "'%.200s' has no database: influx1:http://HOST:PORT/DATABASE", url);
    }
    ex_text_add(&t, url, (size_t)(database - url));
    if (!fits(&t, out->url, sizeof out->url) || !read_create(out->url, database + 1, out)) {
        return ex_usage("to", "is too long");
    }
    ex_text_printf(&t, "%s/write?db=", out->url);
    ex_text_escape(&t, database + 1);
    ex_text_printf(&t, "&precision=ns");
    return fits(&t, out->url, sizeof out->url) ? EX_GO_ON : ex_usage("to", "is too long");
}

static int read_influx2(const char *url, const char *org, const char *bucket, ua_target *out)
{
    const char *host = host_of(url);
    size_t n = strlen(url);
    ex_text t = { 0 };

    if (!host || !is_plain(url) || !is_place(host, url + n)) return bad_url(url);
    if (!org || !*org) return ex_usage("org", "is missing: influx2 needs it");
    if (!bucket || !*bucket) return ex_usage("bucket", "is missing: influx2 needs it");
    while (n > 0 && url[n - 1] == '/') n--;
    ex_text_add(&t, url, n);
    ex_text_printf(&t, "/api/v2/write?org=");
    ex_text_escape(&t, org);
    ex_text_printf(&t, "&bucket=");
    ex_text_escape(&t, bucket);
    ex_text_printf(&t, "&precision=ns");
    return fits(&t, out->url, sizeof out->url) ? EX_GO_ON : ex_usage("to", "is too long");
}

/* HOST:PORT, [ADDRESS]:PORT */
static int read_udp(const char *text, ua_target *out)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    int64_t port;

    if (n == 0 || !ex_parse_int64(colon + 1, &port) || port < 1 || port > 65535) {
        return ex_usage("to", "'%.200s' has no host, or no port from 1 to 65535: udp:HOST:PORT", text);
    }
    if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n >= sizeof out->host) return ex_usage("to", "is too long");
    memcpy(out->host, text, n);
    snprintf(out->port, sizeof out->port, "%d", (int)port);
    return EX_GO_ON;
}

int ua_target_read(const char *to, const char *org, const char *bucket, const char *token, ua_target *out)
{
    const char *at = to;
    bool second = false;
    int status;

    memset(out, 0, sizeof *out);
    if (begins(&at, "influx1:")) {
        out->kind = UA_INFLUX1;
        status = read_influx1(at, out);
    } else if (begins(&at, "influx2:")) {
        out->kind = UA_INFLUX2;
        status = read_influx2(at, org, bucket, out);
        second = true;
    } else if (begins(&at, "udp:")) {
        out->kind = UA_UDP;
        status = read_udp(at, out);
    } else if (strcmp(at, "stdout") == 0) {
        out->kind = UA_STDOUT;
        status = EX_GO_ON;
    } else if (strchr(at, '@')) {
        return bad_url(at);
    } else {
        return ex_usage("to", "'%.200s' begins with none of influx1:, influx2:, udp:, and is not stdout", at);
    }
    if (status >= 0) return status;
    if (!second && (org || bucket)) return ex_usage(org ? "org" : "bucket", "is for influx2 only");
    snprintf(out->name, sizeof out->name, "%.290s", at);
    return out->kind <= UA_INFLUX2 ? authorize(out, token) : EX_GO_ON;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

void ua_sender_init(ua_sender *s, ua_queue *q, const ua_target *t, const char *secret, const char *host, uint64_t seed)
{
    uint64_t stream = 1469598103934665603u; /* FNV-1a of the name */

    for (; *host; host++) stream = (stream ^ (unsigned char)*host) * 1099511628211u;
    memset(s, 0, sizeof *s);
    s->queue = q;
    s->target = t;
    s->secret = secret;
    s->written_s = -1;
    rllb_rng_init(&s->rng, seed, stream);
}

bool ua_sender_ready(const ua_sender *s, double now_s)
{
    return s->queue->count > 0 && s->queue->under_way == 0 && now_s >= s->next_s;
}

/* Stars in place of a secret; where words were cut off they may end with its beginning. */
static void hide(char *words, const char *secret, bool cut)
{
    size_t n = secret ? strlen(secret) : 0;

    if (n == 0) return;
    for (; *words; words++) {
        if (strncmp(words, secret, n) == 0) memset(words, '*', n);
        else if (cut && strncmp(words, secret, strlen(words)) == 0) memset(words, '*', strlen(words));
    }
}

/* The first line of what was said, without what must not be shown. */
static void keep_words(ua_sender *s, const char *text, size_t size)
{
    const char *credential = strrchr(s->target->authorization, ' ');
    size_t n = 0;
    bool cut;

    while (n < size && n < UA_WORDS_MOST - 1 && text[n] && text[n] != '\n' && text[n] != '\r') n++;
    if (n) memcpy(s->words, text, n);
    s->words[n] = '\0';
    cut = n == UA_WORDS_MOST - 1;
    hide(s->words, s->secret, cut);
    hide(s->words, credential ? credential + 1 : NULL, cut);
}

/* From 1 s, twice as long each time, and somewhere in the upper half of that. */
static double pause_after(ua_sender *s, const char *after)
{
    double wanted, low;

    s->pause_s = s->pause_s > 0 ? fmin(2 * s->pause_s, PAUSE_MOST_S) : PAUSE_LEAST_S;
    low = fmax(s->pause_s / 2, PAUSE_LEAST_S);
    low += (s->pause_s - low) * rllb_rng_double(&s->rng);
    if (ex_parse_double(after, &wanted) && wanted > low) low = fmin(wanted, PAUSE_WANTED_MOST_S);
    return low;
}

static void went_well(ua_sender *s, double now_s)
{
    if (s->state == UA_FAILING || s->state == UA_REFUSING) {
        fprintf(stderr, "%s: %s takes lines again\n", ex_program_name(), s->target->name);
    }
    s->state = UA_WELL;
    s->written_s = now_s;
    s->next_s = s->pause_s = 0;
    ua_queue_settle(s->queue, UA_WRITTEN);
}

static void went_wrong(ua_sender *s, int32_t status, const char *after, double now_s)
{
    char number[24] = "";

    if (status) snprintf(number, sizeof number, "HTTP %d: ", (int)status);
    if (s->state != UA_FAILING) ex_warn("%s: %s%s; trying again", s->target->name, number, s->words);
    s->state = UA_FAILING;
    s->failures++;
    s->next_s = now_s + pause_after(s, after);
    ua_queue_settle(s->queue, UA_FAILED);
}

static void was_refused(ua_sender *s, int32_t status, const char *before)
{
    int32_t lines = s->queue->under_way;

    if (s->state != UA_REFUSING || strcmp(before, s->words) != 0) {
        ex_warn("%s: HTTP %d: %s; batch of %d dropped", s->target->name, (int)status, s->words, (int)lines);
    }
    s->state = UA_REFUSING;
    s->refusals++;
    s->next_s = s->pause_s = 0;
    ua_queue_settle(s->queue, UA_REFUSED);
}

void ua_sender_answer(ua_sender *s, int32_t status, const char *text, size_t size, const char *after, double now_s)
{
    char before[UA_WORDS_MOST];

    s->tries++;
    if (status >= 200 && status < 300) {
        went_well(s, now_s);
        return;
    }
    memcpy(before, s->words, sizeof before);
    keep_words(s, text, size);
    if (status < 200 || status >= 500 || status == 408 || status == 429) went_wrong(s, status, after, now_s);
    else was_refused(s, status, before);
}
