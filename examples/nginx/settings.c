/* settings.c - the words of an `rllb` line: key=value, each once

   Times are written as nginx does: 250ms, 2s, 1m. */

#include "site.h"

#include "library.h"
#include "options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef enum kind {
    POLICY,
    FALLBACK,
    FORM,
    TEXT,
    REAL,
    WHOLE,
    SEED,
    SHARE,  /* 0 is off */
    PERIOD, /* seconds, a float; 0 or "off": off */
    INTERVAL,
    SWITCH,
    MEASURE
} kind;

typedef struct word {
    const char *key;
    kind kind;
    size_t at; /* in nx_settings */
    double low, high;
} word;

#define AT(member) offsetof(nx_settings, member)

static const word words[] = {
    { "policy", POLICY, AT(desc.policy), 0, 0 },
    { "model", TEXT, AT(model_path), 0, 0 },
    { "interval", INTERVAL, AT(interval_ms), 1, 60000 },
    { "shadow", SWITCH, AT(desc.shadow), 0, 0 },
    { "blend", REAL, AT(blend), 0, 100 },
    { "fallback", FALLBACK, AT(desc.fallback), 0, 0 },
    { "state", TEXT, AT(state_path), 0, 0 },
    { "save", INTERVAL, AT(save_ms), 100, 3600000 },
    { "key", TEXT, AT(key), 0, 0 },
    { "report", TEXT, AT(report), 0, 0 },
    { "servers", WHOLE, AT(desc.capacity), 1, NX_SERVERS_MOST },
    { "workers", WHOLE, AT(desc.workers), 1, RLLB_BALANCER_WORKERS_MAX },
    { "seed", SEED, AT(desc.seed), 0, 0 },
    { "form", FORM, AT(desc.form), 0, 0 },
    { "d", WHOLE, AT(desc.d), 1, 64 },
    { "a", SHARE, AT(desc.a), 0, 16 },
    { "gamma", REAL, AT(gamma), 0, 16 },
    { "bound", REAL, AT(desc.bound), 0.01, 100 },
    { "ewma", PERIOD, AT(desc.ewma_s), 0.001, 3600 },
    { "clients", REAL, AT(desc.clients), 1, 1e6 },
    { "hot", REAL, AT(desc.hot), 0.01, 1 },
    { "reply", PERIOD, AT(desc.reply_s), 0.001, 3600 },
    { "by", MEASURE, AT(desc.by_stretch), 0, 0 },
    { "eta", REAL, AT(desc.eta), 0.0001, 1 },
    { "floor", SHARE, AT(desc.guard.floor), 0, 1 },
    { "ceiling", REAL, AT(desc.guard.ceiling), 1, 1e6 },
    { "rate", REAL, AT(desc.guard.rate), 1, 1e6 },
    { "deadline", PERIOD, AT(desc.guard.deadline_s), 0.1, 3600 },
    { "eject_failures", SHARE, AT(desc.guard.eject_failures), 0, 1000 },
    { "eject_rate", SHARE, AT(desc.guard.eject_rate), 0, 1 },
    { "eject_share", SHARE, AT(desc.guard.eject_share), 0, 1 },
    { "eject_time", PERIOD, AT(desc.guard.eject_s), 0.1, 3600 },
    { "panic", SHARE, AT(desc.guard.panic), 0, 1 },
    { "slow_start", PERIOD, AT(desc.guard.slow_start_s), 0, 3600 },
    { "minimum_share", SHARE, AT(desc.guard.minimum_share), 0, 0.5 },
    { "failure", PERIOD, AT(desc.guard.failure_s), 0, 3600 },
};

enum { WORDS = sizeof words / sizeof *words };

typedef char words_fit[WORDS <= 64 ? 1 : -1]; /* a bit each in nx_settings.seen */

/* Oracles see what only a simulator can, and a function of one's own cannot be written in a configuration. */
static bool is_ours(int32_t policy)
{
    return policy >= 0 && policy < (int32_t)RLLB_BALANCE_CHOOSE;
}

/* Those that go by weights and counts alone. */
static bool is_plain(int32_t policy)
{
    return (policy >= 0 && policy <= (int32_t)RLLB_BALANCE_WCMP)
           || (policy >= (int32_t)RLLB_BALANCE_P2C && policy <= (int32_t)RLLB_BALANCE_JIQ);
}

static void policies(bool (*fits)(int32_t), char *out, size_t size)
{
    size_t used = 0;
    int32_t i;

    for (i = 0; i < (int32_t)RLLB_BALANCE_NUM && used < size; i++) {
        if (!fits(i)) continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", rllb_balance_name((rllb_balance)i));
    }
}

static bool take_policy(const char *text, bool (*fits)(int32_t), const char *what, rllb_balance *out, char *why,
                        size_t size)
{
    int32_t policy = rllb_balance_of(text);
    char all[400];

    if (fits(policy)) *out = (rllb_balance)policy;
    if (fits(policy)) return true;
    policies(fits, all, sizeof all);
    if (policy >= 0 && !is_ours(policy)) snprintf(why, size, "%s is nothing that nginx can run; one of: %s", text, all);
    else snprintf(why, size, "no %s \"%.40s\"; one of: %s", what, text, all);
    return false;
}

/* One of two words; *out: is it the second. */
static bool take_either(const char *key, const char *text, const char *no, const char *yes, bool *out, char *why,
                        size_t size)
{
    *out = strcmp(text, yes) == 0;
    if (*out || strcmp(text, no) == 0) return true;
    snprintf(why, size, "%s=%.40s: %s or %s is wanted", key, text, no, yes);
    return false;
}

static bool in_range(const word *w, double value, const char *text, char *why, size_t size)
{
    if (value >= w->low && value <= w->high) return true;
    snprintf(why, size, "%s=%.40s is out of range, must be %g to %g", w->key, text, w->low, w->high);
    return false;
}

/* Milliseconds. */
static bool take_time(const word *w, const char *text, double *out, char *why, size_t size)
{
    ngx_str_t line;
    ngx_int_t ms;

    line.data = (u_char *)(uintptr_t)text;
    line.len = strlen(text);
    ms = ngx_parse_time(&line, 0);
    *out = (double)ms;
    if (ms >= 0) return true;
    snprintf(why, size, "%s=%.40s is not a time, such as 250ms or 2s", w->key, text);
    return false;
}

static bool take_number(const word *w, void *to, const char *text, char *why, size_t size)
{
    double value;

    if (!ex_parse_double(text, &value)) {
        snprintf(why, size, "%s=%.40s is not a number", w->key, text);
        return false;
    }
    if (!in_range(w, value, text, why, size)) return false;
    if (w->at == AT(blend) || w->at == AT(gamma)) *(double *)to = value;
    else *(float *)to = w->kind == SHARE && !(value > 0) ? RLLB_OFF : (float)value;
    return true;
}

static bool take_whole(const word *w, void *to, const char *text, char *why, size_t size)
{
    int64_t value;

    if (w->kind == SEED && ex_parse_uint64(text, (uint64_t *)to)) return true;
    if (w->kind == SEED || !ex_parse_int64(text, &value)) {
        snprintf(why, size, "%s=%.40s is not a whole number", w->key, text);
        return false;
    }
    *(int32_t *)to = (int32_t)value;
    return in_range(w, (double)value, text, why, size);
}

static bool take_period(const word *w, void *to, const char *text, char *why, size_t size)
{
    bool off = strcmp(text, "off") == 0;
    double ms = 0;

    if (off && w->low > 0) {
        snprintf(why, size, "%s cannot be off", w->key);
        return false;
    }
    if (!off && (!take_time(w, text, &ms, why, size) || !in_range(w, 1e-3 * ms, text, why, size))) return false;
    *(float *)to = ms > 0 ? (float)(1e-3 * ms) : RLLB_OFF;
    return true;
}

static bool take_interval(const word *w, void *to, const char *text, char *why, size_t size)
{
    return take_time(w, text, to, why, size) && in_range(w, *(double *)to, text, why, size);
}

static bool take_text(const word *w, ngx_str_t *to, const char *text, char *why, size_t size)
{
    to->data = (u_char *)(uintptr_t)text;
    to->len = strlen(text);
    if (!to->len) snprintf(why, size, "%s= is empty", w->key);
    return to->len > 0;
}

static bool take(nx_settings *s, const word *w, const char *text, char *why, size_t size)
{
    void *to = (u_char *)s + w->at;
    bool draw;

    switch (w->kind) {
    case POLICY: return take_policy(text, is_ours, "policy", to, why, size);
    case FALLBACK: return take_policy(text, is_plain, "fallback", to, why, size);
    case SWITCH: return take_either(w->key, text, "off", "on", to, why, size);
    case MEASURE: return take_either(w->key, text, "duration", "stretch", to, why, size);
    case FORM:
        if (!take_either(w->key, text, "sed", "draw", &draw, why, size)) return false;
        s->desc.form = draw ? RLLB_FORM_DRAW : RLLB_FORM_SED;
        return true;
    case TEXT: return take_text(w, to, text, why, size);
    case REAL:
    case SHARE: return take_number(w, to, text, why, size);
    case WHOLE:
    case SEED: return take_whole(w, to, text, why, size);
    case INTERVAL: return take_interval(w, to, text, why, size);
    case PERIOD: break;
    }
    return take_period(w, to, text, why, size);
}

static const word *word_of(const char *text, size_t length)
{
    ngx_uint_t i;

    for (i = 0; i < WORDS; i++) {
        if (strlen(words[i].key) == length && memcmp(words[i].key, text, length) == 0) return &words[i];
    }
    return NULL;
}

static void unknown(const char *text, size_t length, char *why, size_t size)
{
    const char *keys[WORDS + 1], *near;
    char name[40];
    ngx_uint_t i;

    for (i = 0; i < WORDS; i++) keys[i] = words[i].key;
    keys[WORDS] = NULL;
    snprintf(name, sizeof name, "%.*s", (int)(length < 39 ? length : 39), text);
    near = ex_nearest(name, keys);
    if (near) snprintf(why, size, "there is no \"%s\"; did you mean %s=?", name, near);
    else snprintf(why, size, "there is no \"%s\"", name);
}

bool nx_settings_take(nx_settings *s, const char *text, char *why, size_t size)
{
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    const word *w = word_of(text, length);
    uint64_t bit;

    if (!w) unknown(text, length, why, size);
    if (!w) return false;
    if (!equals) {
        snprintf(why, size, "%s has no value: %s=...", w->key, w->key);
        return false;
    }
    bit = (uint64_t)1 << (w - words);
    if (s->seen & bit) {
        snprintf(why, size, "%s= is there twice", w->key);
        return false;
    }
    s->seen |= bit;
    return take(s, w, equals + 1, why, size);
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

static void model_close(void *model)
{
    ex_model_close(model);
}

static bool model_open(nx_settings *s, ngx_pool_t *pool, char *why, size_t size)
{
    ngx_pool_cleanup_t *c = ngx_pool_cleanup_add(pool, sizeof *s->model);

    if (!c) snprintf(why, size, "no memory");
    if (!c) return false;
    s->model = c->data;
    c->handler = model_close;
    if (ex_model_open((const char *)s->model_path.data, s->model)) return true;
    snprintf(why, size, "%s", nx_said);
    return false;
}

static bool said(const nx_settings *s, size_t at)
{
    ngx_uint_t i;

    for (i = 0; i < WORDS; i++) {
        if (words[i].at == at) return s->seen >> i & 1;
    }
    return false;
}

/* What a model says of the balancer it was trained with is not to be said again. */
static bool model_apply(nx_settings *s, char *why, size_t size)
{
    if (said(s, AT(desc.form)) || said(s, AT(desc.d)) || said(s, AT(desc.a)) || said(s, AT(gamma))) {
        snprintf(why, size, "form, d, a and gamma are the model's with policy=learned");
        return false;
    }
    ex_model_info_apply(&s->model->info, &s->desc);
    s->desc.spread = 0; /* a few balancers, often with little to do: each hears of every server, shares stay even */
    if (!(s->interval_ms > 0)) s->interval_ms = 1000.0 * (double)s->model->info.interval_s; /* 0: it does not say */
    return true;
}

bool nx_settings_end(nx_settings *s, ngx_pool_t *pool, char *why, size_t size)
{
    bool learned = s->desc.policy == RLLB_BALANCE_LEARNED;

    if (learned != (s->model_path.len > 0)) {
        snprintf(why, size, learned ? "policy=learned needs model=FILE" : "model= is for policy=learned");
        return false;
    }
    if (said(s, AT(save_ms)) && !s->state_path.len) {
        snprintf(why, size, "save= is for state=FILE");
        return false;
    }
    if (!said(s, AT(save_ms))) s->save_ms = 10000;
    s->desc.gamma = (float)s->gamma;
    if (!(s->desc.clients > 0)) s->desc.clients = 1; /* all workers together are one */
    if (learned && (!model_open(s, pool, why, size) || !model_apply(s, why, size))) return false;
    if (!(s->interval_ms > 0)) s->interval_ms = 250;
    s->desc.interval_s = (float)(1e-3 * s->interval_ms);
    if (!said(s, AT(blend))) s->blend = 100;
    return true;
}

bool nx_settings_line(nx_settings *s, ngx_conf_t *cf)
{
    ngx_str_t *words_given = cf->args->elts;
    char why[700];
    ngx_uint_t i;
    bool ok = true;

    s->file = cf->conf_file->file.name.data;
    s->line = cf->conf_file->line;
    for (i = 1; i < cf->args->nelts && ok; i++) {
        ok = nx_settings_take(s, (const char *)words_given[i].data, why, sizeof why);
    }
    if (ok && s->model_path.len && ngx_conf_full_name(cf->cycle, &s->model_path, 1) != NGX_OK) return false;
    if (ok && s->state_path.len && ngx_conf_full_name(cf->cycle, &s->state_path, 0) != NGX_OK) return false;
    ok = ok && nx_settings_end(s, cf->pool, why, sizeof why);
    if (!ok) ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "rllb: %s", why);
    return ok;
}
