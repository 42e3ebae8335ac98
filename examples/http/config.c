/* config.c - settings of the proxy: a file with one setting a line, then flags of the same names

   `--retries 2` is the line `retries 2`; what a flag says stands in place of what the file says, and --server, given
   once or more, in place of all servers of the file. One table below names the settings, their ranges, what --help says
   of them and their defaults, which are written as a line would be. Calls nothing of libuv. */

#include "proxy.h"

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_MOST = 1 << 20,
    LINE_MOST = 1000,
    WORDS_MOST = 16, WHY = 200, NAMES_MOST = 48, NAME_SHOWN = 40, HELP = 640
};

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* ---- one value ------------------------------------------------------------------------------------------------- */

typedef enum kind { WHOLE, SEED, REAL, BYTES, MANY_BYTES, SWITCH, NAME, LEVELS } kind;

/* A value of a setting: KEY=VALUE, or without a key at its place. */
typedef struct field {
    const char *key; /* NULL: a plain value */
    kind kind;
    size_t at;
    double low, high;
    const char *const *names; /* of a NAME, the first is 0 */
} field;

static const char *const yes_names[] = { "no", "yes", NULL };
static const char *const key_names[] = { "none", "address", "target", "header", "cookie", NULL };
static const char *const metrics_names[] = { "none", "json", "apache", NULL };

static void join(const char *const *names, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (; *names && used < size; names++) {
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", *names);
    }
}

static bool bad_name(const char *text, const char *const *names, char why[WHY])
{
    const char *near = ex_nearest(text, names);
    char all[120];

    join(names, all, sizeof all);
    if (near) snprintf(why, WHY, "no '%.40s' here; did you mean %s?", text, near);
    else snprintf(why, WHY, "no '%.40s' here; one of: %s", text, all);
    return false;
}

static bool is_one_of(const char *text, const char *const *names)
{
    while (*names && strcmp(*names, text) != 0) names++;
    return *names != NULL;
}

static bool take_name(const char *text, const char *const *names, int32_t *out, char why[WHY])
{
    int32_t i;

    for (i = 0; names[i]; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = i;
        return true;
    }
    return bad_name(text, names, why);
}

/* 4096, 64k, 1M, 1G. */
static bool parse_bytes(const char *text, int64_t *out)
{
    static const char units[] = "kMG";
    char digits[24];
    size_t length = strspn(text, "0123456789");
    const char *unit = text[length] ? strchr(units, text[length]) : NULL;
    int64_t factor = unit ? (int64_t)1 << (10 * (unit - units + 1)) : 1;

    if (length == 0 || length >= 16 || (text[length] && (!unit || text[length + 1]))) return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (!ex_parse_int64(digits, out) || *out > INT64_MAX / factor) return false;
    *out *= factor;
    return true;
}

static bool in_range(const field *f, double value, const char *text, char why[WHY])
{
    if (value >= f->low && value <= f->high) return true;
    snprintf(why, WHY, "%s%s%.40s is out of range, must be %.10g to %.10g", f->key ? f->key : "", f->key ? "=" : "",
             text, f->low, f->high);
    return false;
}

static bool no_number(const field *f, const char *text, const char *what, char why[WHY])
{
    snprintf(why, WHY, "%s%s'%.40s' is not a %s", f->key ? f->key : "", f->key ? "=" : "", text, what);
    return false;
}

static bool take_whole(const field *f, void *to, const char *text, char why[WHY])
{
    int64_t value = 0;
    bool bytes = f->kind == BYTES || f->kind == MANY_BYTES;

    if (f->kind == SEED) {
        if (ex_parse_uint64(text, to)) return true;
        return no_number(f, text, "whole number from 0 to 18446744073709551615", why);
    }
    if (bytes && !parse_bytes(text, &value)) return no_number(f, text, "number of bytes, such as 65536 or 64k", why);
    if (!bytes && !ex_parse_int64(text, &value)) return no_number(f, text, "whole number", why);
    if (!in_range(f, (double)value, text, why)) return false;
    if (f->kind == MANY_BYTES) *(int64_t *)to = value;
    else *(int32_t *)to = (int32_t)value;
    return true;
}

/* LOW/HIGH, the one below the other. */
static bool take_levels(const field *f, float *to, const char *text, char why[WHY])
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : 0;
    char first[32];
    double low, high;

    if (slash && length < sizeof first) {
        memcpy(first, text, length);
        first[length] = '\0';
        if (ex_parse_double(first, &low) && ex_parse_double(slash + 1, &high) && low >= f->low && high <= f->high &&
            (float)low < (float)high) {
            to[0] = (float)low;
            to[1] = (float)high;
            return true;
        }
    }
    snprintf(why, WHY, "%s='%.40s' should be LOW/HIGH, such as 50/80, from %.10g to %.10g", f->key, text, f->low,
             f->high);
    return false;
}

static bool take_field(const field *f, void *base, const char *text, char why[WHY])
{
    void *to = (unsigned char *)base + f->at;
    double value;
    int32_t place;

    switch (f->kind) {
    case WHOLE:
    case SEED:
    case BYTES:
    case MANY_BYTES: return take_whole(f, to, text, why);
    case REAL:
        if (!ex_parse_double(text, &value)) return no_number(f, text, "number", why);
        if (!in_range(f, value, text, why)) return false;
        *(double *)to = value;
        return true;
    case SWITCH:
        if (!take_name(text, yes_names, &place, why)) return false;
        *(bool *)to = place == 1;
        return true;
    case NAME:
        if (!take_name(text, f->names, &place, why)) return false;
        *(px_metrics *)to = (px_metrics)place; /* the only one */
        return true;
    case LEVELS: return take_levels(f, to, text, why);
    }
    return false;
}

/* ---- addresses ------------------------------------------------------------------------------------------------- */

static bool is_address(const char *host)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* 127.0.0.1:80, [::1]:80, or 80, which is on the loopback. */
static bool take_address(const char *text, int64_t least, char host[64], int32_t *port, char why[WHY])
{
    const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text, *from = text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    char name[64] = "127.0.0.1";
    int64_t value;

    if (!ex_parse_int64(digits, &value) || value < least || value > 65535) {
        snprintf(why, WHY, "'%.60s' ends in no port: ADDRESS:PORT is wanted, a port from %d to 65535", text,
                 (int)least);
        return false;
    }
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        from++;
        length -= 2;
    } else if (length && memchr(text, ':', length)) {
        snprintf(why, WHY, "'%.60s': an IPv6 address stands in brackets, [::1]:80", text);
        return false;
    }
    if (colon) snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : (int)sizeof name - 1, from);
    if (!is_address(name)) {
        snprintf(why, WHY, "'%.60s' is no numeric address, such as 127.0.0.1; names are not looked up", name);
        return false;
    }
    memcpy(host, name, sizeof name);
    *port = (int32_t)value;
    return true;
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

typedef struct setting {
    const char *name, *value, *standard, *help;
    bool (*take)(px_config *c, const struct setting *s, char *text, char why[WHY]);
    const field *fields;
    int32_t count;
} setting;

/* Parts between blanks; the text is cut into them. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t");
    size_t length = strcspn(word, " \t");

    if (!length) return NULL;
    *at = word + length + (word[length] != '\0');
    word[length] = '\0';
    return word;
}

static bool unknown_key(const setting *s, const char *word, char why[WHY])
{
    const char *keys[WORDS_MOST + 1], *near;
    char all[120];
    int32_t i, n = 0;

    for (i = 0; i < s->count; i++) {
        if (s->fields[i].key) keys[n++] = s->fields[i].key;
    }
    keys[n] = NULL;
    near = ex_nearest(word, keys);
    join(keys, all, sizeof all);
    if (near) snprintf(why, WHY, "%s has no '%.40s'; did you mean %s=?", s->name, word, near);
    else if (n) snprintf(why, WHY, "%s has no '%.40s'; it has: %s", s->name, word, all);
    else snprintf(why, WHY, "'%.40s' is one too many: %s %s", word, s->name, s->value);
    return false;
}

/* The field that a word is for, and its text behind the '='. */
static const field *field_of(const setting *s, char *word, uint32_t seen, char **text)
{
    char *equals = strchr(word, '=');
    int32_t i;

    for (i = 0; i < s->count; i++) {
        const field *f = &s->fields[i];
        bool plain = !f->key && !(seen >> i & 1);
        if (f->key && !(equals && strlen(f->key) == (size_t)(equals - word))) continue;
        if (f->key && strncmp(f->key, word, strlen(f->key)) != 0) continue;
        if (!f->key && !plain) continue;
        *text = f->key ? equals + 1 : word;
        return f;
    }
    if (equals) *equals = '\0';
    return NULL;
}

/* The words of text into fields, from base on. Plain ones must all be there. */
static bool take_words(const setting *s, void *base, char *text, char why[WHY])
{
    uint32_t seen = 0;
    char *word, *value;
    int32_t i;

    while ((word = next_word(&text)) != NULL) {
        const field *f = field_of(s, word, seen, &value);
        if (!f) return unknown_key(s, word, why);
        i = (int32_t)(f - s->fields);
        if (seen >> i & 1) {
            snprintf(why, WHY, "%s= is there twice", f->key);
            return false;
        }
        seen |= (uint32_t)1 << i;
        if (!take_field(f, base, value, why)) return false;
    }
    for (i = 0; i < s->count; i++) {
        if (s->fields[i].key || (seen >> i & 1)) continue;
        snprintf(why, WHY, "its value is missing: %s %s", s->name, s->value);
        return false;
    }
    return true;
}

static bool take_fields(px_config *c, const setting *s, char *text, char why[WHY])
{
    return take_words(s, c, text, why);
}

/* The only word of text. */
static bool take_one(const setting *s, char *text, char **out, char why[WHY])
{
    char *more;

    *out = next_word(&text);
    if (!*out) snprintf(why, WHY, "its value is missing: %s %s", s->name, s->value);
    if (!*out) return false;
    more = next_word(&text);
    if (more) snprintf(why, WHY, "'%.40s' is one too many: %s %s", more, s->name, s->value);
    return !more;
}

static bool take_listen(px_config *c, const setting *s, char *text, char why[WHY])
{
    char *word;

    return take_one(s, text, &word, why) && take_address(word, 0, c->listen_host, &c->listen_port, why);
}

static bool take_admin(px_config *c, const setting *s, char *text, char why[WHY])
{
    char *word;

    if (!take_one(s, text, &word, why)) return false;
    if (strcmp(word, "off") != 0) return take_address(word, 0, c->admin_host, &c->admin_port, why);
    c->admin_port = -1;
    return true;
}

/* Plain characters: names stand in logs, metrics and on the page. */
static bool name_ok(const char *name, char why[WHY])
{
    size_t length = strspn(name, LETTERS "._-");

    if (!name[length] && length < PX_NAME_MOST) return true;
    snprintf(why, WHY, "the name '%.*s' must be at most %d letters, digits, dots, dashes and underscores",
             NAME_SHOWN, name, PX_NAME_MOST - 1);
    return false;
}

static bool take_server(px_config *c, const setting *s, char *text, char why[WHY])
{
    char *name = next_word(&text), *address = next_word(&text);
    px_server_config fresh;
    double weight = 1;
    int32_t i;
    struct { double weight; int32_t connections; } more = { 1, 0 };

    memset(&fresh, 0, sizeof fresh);
    if (!name || !address) snprintf(why, WHY, "its %s is missing: server %s", name ? "address" : "name", s->value);
    if (!name || !address || !name_ok(name, why)) return false;
    if (!take_address(address, 1, fresh.host, &fresh.port, why)) return false;
    if (!strchr(address, ':')) {
        snprintf(why, WHY, "'%.60s': ADDRESS:PORT is wanted", address);
        return false;
    }
    if (!take_words(s, &more, text, why)) return false;
    weight = more.weight;
    for (i = 0; i < c->server_count; i++) {
        if (strcmp(c->server[i].name, name) != 0) continue;
        snprintf(why, WHY, "there is a server %s already", name);
        return false;
    }
    if (c->server_count == PX_SERVERS_MOST) {
        snprintf(why, WHY, "more than %d servers", PX_SERVERS_MOST);
        return false;
    }
    snprintf(fresh.name, sizeof fresh.name, "%s", name);
    fresh.weight = (float)weight;
    fresh.connections = more.connections;
    c->server[c->server_count++] = fresh;
    return true;
}

/* Policies that a proxy can run; NULL at the end. fallback: those that go by weights and counts alone. */
static void policy_names(bool fallback, const char *names[NAMES_MOST])
{
    int32_t i, n = 0;

    for (i = 0; i < (int32_t)RLLB_BALANCE_NUM && n < NAMES_MOST - 2; i++) {
        rllb_balance p = (rllb_balance)i;
        bool plain = p <= RLLB_BALANCE_WCMP || (p >= RLLB_BALANCE_P2C && p <= RLLB_BALANCE_JIQ);
        if (p >= RLLB_BALANCE_CHOOSE || (fallback && !plain)) continue;
        names[n++] = rllb_balance_name(p);
    }
    if (!fallback) names[n++] = "q_learning";
    names[n] = NULL;
}

static bool take_a_policy(const setting *s, char *text, bool fallback, char out[32], char why[WHY])
{
    const char *names[NAMES_MOST];
    char *word, all[120];
    int32_t place;
    bool known;

    if (!take_one(s, text, &word, why)) return false;
    policy_names(fallback, names);
    place = rllb_balance_of(word);
    if (place > (int32_t)RLLB_BALANCE_CHOOSE) {
        snprintf(why, WHY, "%s sees what only a simulator can: it is no policy for a proxy", word);
        return false;
    }
    known = place >= 0 || strcmp(word, "q_learning") == 0;
    if (fallback && known && !is_one_of(word, names)) {
        join(names, all, sizeof all);
        snprintf(why, WHY, "%s is no fallback; one of: %s", word, all);
        return false;
    }
    if (!fallback && !is_one_of(word, names) && !ex_nearest(word, names)) {
        snprintf(why, WHY, "no policy '%.40s'; --help lists them", word);
        return false;
    }
    if (!take_name(word, names, &place, why)) return false;
    snprintf(out, 32, "%s", names[place]);
    return true;
}

static bool take_policy(px_config *c, const setting *s, char *text, char why[WHY])
{
    return take_a_policy(s, text, false, c->policy, why);
}

static bool take_fallback(px_config *c, const setting *s, char *text, char why[WHY])
{
    return take_a_policy(s, text, true, c->fallback, why);
}

/* All of the line, blanks inside too; the default's word stands for an empty one. */
static bool take_path(px_config *c, const setting *s, char *text, char why[WHY])
{
    char *to = (char *)c + s->fields[0].at;

    if (strlen(text) >= PX_TEXT_MOST) {
        snprintf(why, WHY, "'%.40s...': longer than %d bytes", text, PX_TEXT_MOST - 1);
        return false;
    }
    snprintf(to, PX_TEXT_MOST, "%s", strcmp(text, s->standard) == 0 ? "" : text);
    return true;
}

/* RFC 9110 5.6.2: what names of headers and cookies are made of. */
static bool is_token(const char *text)
{
    return *text && !text[strspn(text, LETTERS "!#$%&'*+-.^_`|~")];
}

static bool take_key(px_config *c, const setting *s, char *text, char why[WHY])
{
    char *word = next_word(&text), *name = next_word(&text);
    int32_t place;

    if (!word) snprintf(why, WHY, "its value is missing: %s %s", s->name, s->value);
    if (!word || !take_name(word, key_names, &place, why)) return false;
    if ((place >= (int32_t)PX_KEY_HEADER) != (name != NULL) || next_word(&text)) {
        snprintf(why, WHY, place >= (int32_t)PX_KEY_HEADER ? "key %s takes one name" : "key %s takes no name", word);
        return false;
    }
    if (name && (!is_token(name) || strlen(name) >= sizeof c->key_name)) {
        snprintf(why, WHY, "'%.40s' is no name of a %s", name, word);
        return false;
    }
    c->key = (px_key)place;
    snprintf(c->key_name, sizeof c->key_name, "%s", name ? name : "");
    return true;
}

/* A path of printable characters: it is sent as it stands. */
static bool take_health(px_config *c, const setting *s, char *text, char why[WHY])
{
    char *path = next_word(&text);
    bool off = path && strcmp(path, "off") == 0;
    size_t i;

    if (!path) snprintf(why, WHY, "its value is missing: health %s", s->value);
    if (!path) return false;
    for (i = 0; path[i] > ' ' && path[i] <= '~'; i++) {}
    if (!off && (path[0] != '/' || path[i] || i >= sizeof c->health_path)) {
        snprintf(why, WHY, "'%.40s' is no path: it starts with / and is plain", path);
        return false;
    }
    snprintf(c->health_path, sizeof c->health_path, "%s", off ? "" : path);
    return take_words(s, c, text, why);
}

#define AT(member) offsetof(px_config, member)
#define FIELDS(f) f, EX_COUNT(f)

static const field server_fields[] = { { "weight", REAL, 0, 0.001, 1000, NULL },
                                       { "connections", WHOLE, sizeof(double), 0, 1000000, NULL } };
static const field model_field[] = { { NULL, NAME, AT(model), 0, 0, NULL } };
static const field state_field[] = { { NULL, NAME, AT(state), 0, 0, NULL } };
static const field log_field[] = { { NULL, NAME, AT(access_log), 0, 0, NULL } };
static const field shadow_field[] = { { NULL, SWITCH, AT(shadow), 0, 0, NULL } };
static const field blend_field[] = { { NULL, REAL, AT(blend), 0, 1, NULL } };
static const field interval_field[] = { { NULL, REAL, AT(interval_s), 0.01, 60, NULL } };
static const field seed_field[] = { { NULL, SEED, AT(seed), 0, 0, NULL } };
static const field q_fields[] = {
    { "alpha", REAL, AT(q_alpha), 0.0001, 1, NULL },       { "gamma", REAL, AT(q_gamma), 0, 0.9999, NULL },
    { "epsilon", REAL, AT(q_epsilon), 0, 1, NULL },        { "decay", REAL, AT(q_decay), 0.5, 1, NULL },
    { "least", REAL, AT(q_epsilon_min), 0, 1, NULL },
};
static const field level_fields[] = {
    { "cpu", LEVELS, AT(q_levels[0]), 0, 1e6, NULL },
    { "active", LEVELS, AT(q_levels[1]), 0, 1e6, NULL },
    { "ms", LEVELS, AT(q_levels[2]), 0, 1e6, NULL },
};
static const field health_fields[] = {
    { "interval", REAL, AT(health_interval_s), 0.01, 3600, NULL },
    { "timeout", REAL, AT(health_timeout_s), 0.001, 600, NULL },
    { "rise", WHOLE, AT(health_rise), 1, 100, NULL },
    { "fall", WHOLE, AT(health_fall), 1, 100, NULL },
    { "says", NAME, AT(metrics), 0, 0, metrics_names },
};
static const field limit_fields[] = {
    { "head", BYTES, AT(limits.head_bytes), 256, PX_HEAD_MOST, NULL },
    { "target", BYTES, AT(limits.target_bytes), 16, PX_HEAD_MOST, NULL },
    { "headers", WHOLE, AT(limits.headers), 1, PX_HEADERS_MOST, NULL },
    { "body", MANY_BYTES, AT(limits.body_bytes), 0, 1e15, NULL },
};
static const field clients_field[] = { { NULL, WHOLE, AT(clients), 1, 1000000, NULL } };
static const field idle_field[] = { { NULL, WHOLE, AT(idle_connections), 0, 100000, NULL } };
static const field retries_field[] = { { NULL, WHOLE, AT(retries), 0, PX_TRIES_MOST - 1, NULL } };
static const field hold_field[] = { { NULL, BYTES, AT(hold_bytes), 0, 16777216, NULL } };
static const field time_fields[] = {
    { "head", REAL, AT(head_s), 0.01, 3600, NULL },         { "idle", REAL, AT(idle_s), 0.01, 86400, NULL },
    { "connect", REAL, AT(connect_s), 0.01, 600, NULL },    { "response", REAL, AT(response_s), 0.01, 86400, NULL },
    { "drain", REAL, AT(drain_s), 0, 86400, NULL },
};

/* Those without a default have none that a line could say. */
static const setting settings[] = {
    { NULL, NULL, NULL, "Where", NULL, NULL, 0 },
    { "listen", "ADDRESS:PORT", "127.0.0.1:8080", "where clients come in; port 0: the kernel chooses", take_listen,
      NULL, 0 },
    { "admin", "ADDRESS:PORT", "127.0.0.1:8090", "the operator's port: page, metrics, switches; off: none", take_admin,
      NULL, 0 },
    { "server", "NAME ADDRESS:PORT [weight=W] [connections=N]", NULL,
      "a server, once for each: its speed beside the others' (1), and how many connections at once at most (0: any)",
      take_server, FIELDS(server_fields) },

    { NULL, NULL, NULL, "Deciding", NULL, NULL, 0 },
    { "policy", "NAME", "sed", "which server",
      take_policy, NULL, 0 },
    { "fallback", "NAME", "sed", "the policy that serves in shadow and where the other one is silent", take_fallback,
      NULL, 0 },
    { "model", "FILE", "shipped", "learned: the model", take_path, FIELDS(model_field) },
    { "state", "FILE", "off", "where what was learned is kept over restarts", take_path, FIELDS(state_field) },
    { "shadow", "yes|no", "no", "decide and count, but serve by the fallback", take_fields, FIELDS(shadow_field) },
    { "blend", "X", "1", "share of the weights found, 0 to 1; the rest as configured", take_fields,
      FIELDS(blend_field) },
    { "interval", "S", "0.25", "seconds from one decision to the next", take_fields, FIELDS(interval_field) },
    { "seed", "N", "1", "of random numbers", take_fields, FIELDS(seed_field) },
    { "key", "WHAT [NAME]", "none",
      "what ecmp, wcmp, awcmp and maglev go by: none, address, target, header NAME, cookie NAME", take_key, NULL, 0 },
    { "q-learning", "KEY=X ...", "alpha=0.1 gamma=0.9 epsilon=0.1 decay=0.995 least=0.01",
      "step size, discount, chance to explore, its decay each episode, the least of it", take_fields,
      FIELDS(q_fields) },
    { "levels", "KEY=LOW/HIGH ...", "cpu=50/80 active=5/10 ms=100/200",
      "q_learning: where a server's CPU (percent), active requests and mean time become middling, and high",
      take_fields, FIELDS(level_fields) },

    { NULL, NULL, NULL, "Checks", NULL, NULL, 0 },
    { "health", "PATH [KEY=X ...]", "off interval=1 timeout=0.5 rise=2 fall=3 says=none",
      "what is asked of each server, and how often; so many good answers put it in, so many bad ones out; says: what "
      "the answer tells besides, json or apache (server-status?auto)", take_health, FIELDS(health_fields) },

    { NULL, NULL, NULL, "Limits and patience", NULL, NULL, 0 },
    { "limits", "KEY=X ...", "head=16k target=8k headers=100 body=1G", "of clients' requests", take_fields,
      FIELDS(limit_fields) },
    { "clients", "N", "8192", "connections at once; more wait", take_fields, FIELDS(clients_field) },
    { "idle-connections", "N", "256", "kept open to each server", take_fields, FIELDS(idle_field) },
    { "retries", "N", "2", "other servers tried after the first", take_fields, FIELDS(retries_field) },
    { "hold", "BYTES", "64k", "bodies up to this size are held until whole, so that a failure can be made good",
      take_fields, FIELDS(hold_field) },
    { "timeouts", "KEY=S ...", "head=10 idle=60 connect=1 response=30 drain=30",
      "seconds: for a request's head; an idle client; to reach a server; for its answer; for the last requests at the "
      "end", take_fields, FIELDS(time_fields) },

    { NULL, NULL, NULL, "Watching", NULL, NULL, 0 },
    { "access-log", "FILE", "off", "a line for each request, CSV; opened anew at SIGHUP", take_path,
      FIELDS(log_field) },
};

static const setting *setting_of(const char *name)
{
    int32_t i;

    for (i = 0; i < EX_COUNT(settings); i++) {
        if (settings[i].name && strcmp(settings[i].name, name) == 0) return &settings[i];
    }
    return NULL;
}

/* ---- lines ----------------------------------------------------------------------------------------------------- */

static bool unknown_setting(const char *word, char why[WHY])
{
    const char *names[EX_COUNT(settings) + 1], *near;
    int32_t i, n = 0;

    for (i = 0; i < EX_COUNT(settings); i++) {
        if (settings[i].name) names[n++] = settings[i].name;
    }
    names[n] = NULL;
    near = ex_nearest(word, names);
    if (near) snprintf(why, WHY, "no setting '%.40s'; did you mean %s?", word, near);
    else snprintf(why, WHY, "no setting '%.40s'; --help lists them", word);
    return false;
}

/* One value of a setting; its text is cut up. */
static bool take_value(px_config *c, const setting *s, char *text, char why[WHY])
{
    text += strspn(text, " \t");
    if (!*text) {
        snprintf(why, WHY, "its value is missing: %s %s", s->name, s->value);
        return false;
    }
    return s->take(c, s, text, why);
}

static void trim_end(char *text)
{
    size_t length = strlen(text);

    while (length && strchr(" \t\r", text[length - 1])) text[--length] = '\0';
}

/* From a '#' that begins the line or follows a blank. */
static void cut_comment(char *text)
{
    char *at;

    for (at = text; (at = strchr(at, '#')) != NULL; at++) {
        if (at > text && at[-1] != ' ' && at[-1] != '\t') continue;
        *at = '\0';
        return;
    }
}

static bool take_line(px_config *c, char *line, int32_t number, int32_t *lines, char why[WHY])
{
    const setting *s;
    char *word;
    int32_t i;

    cut_comment(line);
    trim_end(line);
    word = next_word(&line);
    if (!word) return true;
    s = setting_of(word);
    if (!s) return unknown_setting(word, why);
    i = (int32_t)(s - settings);
    if (lines[i] && s->standard) {
        snprintf(why, WHY, "%s is set in line %d already", word, (int)lines[i]);
        return false;
    }
    lines[i] = number;
    return take_value(c, s, line, why);
}

static bool plain_text(const char *line, size_t length, char why[WHY])
{
    size_t i;

    if (length >= LINE_MOST) snprintf(why, WHY, "the line is longer than %d bytes", LINE_MOST - 1);
    if (length >= LINE_MOST) return false;
    for (i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line[i];
        if ((c >= ' ' && c != 127) || c == '\t' || (c == '\r' && i + 1 == length)) continue;
        snprintf(why, WHY, "the byte 0x%02x is no text", c);
        return false;
    }
    return true;
}

bool px_config_text(px_config *c, const char *name, const char *text, size_t size, char why[200])
{
    int32_t lines[EX_COUNT(settings)] = { 0 }, number = 0;
    const char *shown = strlen(name) > 48 ? name + strlen(name) - 48 : name; /* the end of it tells files apart */
    char line[LINE_MOST], what[WHY];
    size_t at = 0;

    why[0] = '\0';
    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        bool ok = plain_text(text + at, length, what);
        number++;
        if (ok) {
            memcpy(line, text + at, length);
            line[length] = '\0';
            ok = take_line(c, line, number, lines, what);
        }
        if (!ok) snprintf(why, WHY, "%s%.48s:%d: %.130s", shown > name ? "..." : "", shown, (int)number, what);
        if (!ok) return false;
        at += length + 1;
    }
    return true;
}

void px_config_default(px_config *c)
{
    char text[LINE_MOST], why[WHY];
    int32_t i;

    memset(c, 0, sizeof *c);
    for (i = 0; i < EX_COUNT(settings); i++) {
        if (!settings[i].standard) continue;
        snprintf(text, sizeof text, "%s", settings[i].standard);
        if (!take_value(c, &settings[i], text, why)) ex_fail("default of %s: %s", settings[i].name, why);
    }
}

/* ---- the command line ------------------------------------------------------------------------------------------ */

/* Flags as given, for now and for each reload. */
typedef struct flag {
    const setting *setting;
    const char *text;
} flag;

static struct {
    const char *path; /* NULL: no file */
    flag *flags;
    int32_t count;
} given;

static int take_flag(void *self, const char *text)
{
    flag *more = realloc(given.flags, (size_t)(given.count + 1) * sizeof *more);

    if (!more) return ex_fail("out of memory");
    given.flags = more;
    more[given.count].setting = self;
    more[given.count++].text = text;
    return EX_GO_ON;
}

static int apply_flag(px_config *c, const flag *f, bool *cleared)
{
    char text[LINE_MOST], why[WHY];

    if (strlen(f->text) >= sizeof text) return ex_usage(f->setting->name, "longer than %d bytes", LINE_MOST - 1);
    if (!plain_text(f->text, strlen(f->text), why)) return ex_usage(f->setting->name, "%s", why);
    snprintf(text, sizeof text, "%s", f->text);
    trim_end(text);
    if (!f->setting->standard && !*cleared) {
        *cleared = true;
        c->server_count = 0;
    }
    return take_value(c, f->setting, text, why) ? EX_GO_ON : ex_usage(f->setting->name, "%s", why);
}

static int apply_file(px_config *c, const char *path)
{
    ex_text file = { NULL, 0, 0, false };
    char why[WHY];
    bool ok;

    if (strlen(path) >= sizeof c->path) return ex_usage("config", "the path is too long");
    snprintf(c->path, sizeof c->path, "%s", path);
    if (!ex_file_read(path, FILE_MOST, &file)) return EX_USAGE;
    ok = px_config_text(c, path, file.data, file.size, why);
    if (!ok) ex_fail("%s", why);
    ex_text_free(&file);
    return ok ? EX_GO_ON : EX_USAGE;
}

/* What no line alone can be blamed for. */
static int check(const px_config *c)
{
    const char *name = c->path[0] ? c->path : "the command line";

    if (c->server_count == 0) {
        ex_fail("%s: there is no server: server NAME ADDRESS:PORT, once for each", name);
    } else if (c->q_epsilon_min > c->q_epsilon) {
        ex_fail("%s: q-learning: least=%g is more than epsilon=%g", name, c->q_epsilon_min, c->q_epsilon);
    } else if (c->metrics != PX_METRICS_NONE && !c->health_path[0]) {
        ex_fail("%s: health: says=%s, but there is no path to ask", name, metrics_names[c->metrics]);
    } else {
        return EX_GO_ON;
    }
    return EX_USAGE;
}

static int read_all(px_config *c)
{
    int status = EX_GO_ON;
    bool cleared = false;
    int32_t i;

    px_config_default(c);
    if (given.path) status = apply_file(c, given.path);
    for (i = 0; i < given.count && status == EX_GO_ON; i++) status = apply_flag(c, &given.flags[i], &cleared);
    return status == EX_GO_ON ? check(c) : status;
}

static const char details[] =
    "A file has one setting a line, under the names of the options: 'server s1 127.0.0.1:8001 weight=2' is\n"
    "--server 's1 127.0.0.1:8001 weight=2'. What follows a # is a comment. Options win; where --server is given, the\n"
    "file's servers do not count. examples/http/proxy.conf is such a file.\n\n"
    "SIGHUP reads the settings again and opens the access log anew: servers come, go and change their weight, another\n"
    "policy takes over, and no request is lost. Settings that are wrong change nothing. SIGTERM ends it when the last\n"
    "requests are answered.\n";

/* What --help says of a setting. */
static void help_of(const setting *s, char out[HELP])
{
    const char *names[NAMES_MOST];
    char all[HELP / 2] = "";

    policy_names(s->take == take_fallback, names);
    if (s->take == take_policy || s->take == take_fallback) join(names, all, sizeof all);
    snprintf(out, HELP, "%s%s%s", s->help, all[0] ? ": " : "", all);
    if (s->standard) snprintf(out + strlen(out), HELP - strlen(out), " [%s]", s->standard);
}

int px_config_parse(px_config *c, int argc, char **argv)
{
    static ex_option options[EX_COUNT(settings) + 1];
    static char helps[EX_COUNT(settings)][HELP];
    static const ex_option file = EX_STRING("config", &given.path, "FILE", "file of settings");
    ex_program program = { .name = "proxy", .summary = "an HTTP/1.1 proxy that learns where requests go",
                           .details = details, .options = options };
    int32_t i;
    int status;

    for (i = 0; i < EX_COUNT(settings); i++) {
        const setting *s = &settings[i];
        ex_option heading = EX_HEADING(s->help), call = EX_CALL(s->name, take_flag, NULL, s->value, helps[i]);
        help_of(s, helps[i]);
        memcpy(&call.self, &s, sizeof s);
        options[program.option_count++] = s->name ? call : heading;
        if (i == 0) options[program.option_count++] = file;
    }
    free(given.flags);
    memset(&given, 0, sizeof given);
    status = ex_options_parse(&program, argc, argv);
    return status == EX_GO_ON ? read_all(c) : status;
}

bool px_config_again(px_config *out)
{
    return read_all(out) == EX_GO_ON;
}
