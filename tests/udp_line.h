/* udp_line.h - reads a line of line protocol as InfluxDB documents it, for tests of what the agent writes. It shares
   nothing with the agent, and refuses all that a database might. */

#ifndef UDP_LINE_H
#define UDP_LINE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LP_TAGS_MOST = 4, LP_FIELDS_MOST = 48, LP_KEY_MOST = 40, LP_VALUE_MOST = 160 };

typedef struct lp_line {
    char measurement[LP_KEY_MOST];
    int tags, fields;
    char tag_key[LP_TAGS_MOST][LP_KEY_MOST], tag_value[LP_TAGS_MOST][LP_VALUE_MOST];
    char field_key[LP_FIELDS_MOST][LP_KEY_MOST];
    bool whole[LP_FIELDS_MOST];
    double value[LP_FIELDS_MOST];
    int64_t at_ns;
} lp_line;

/* Up to a separator of `ends` that no backslash stands before. Nothing empty, no control characters. */
static bool lp_word(const char **at, const char *end, const char *ends, char *out, size_t room)
{
    size_t n = 0;

    for (; *at < end && !strchr(ends, **at); (*at)++) {
        if (**at == '\\' && *at + 1 < end && strchr(", =", (*at)[1])) (*at)++;
        else if (**at == '\\' || strchr(", =", **at)) return false;
        if ((unsigned char)**at < 32 || **at == 127 || n + 1 >= room) return false;
        out[n++] = **at;
    }
    out[n] = '\0';
    return n > 0 && *at < end;
}

static bool lp_number(const char *text, double *out, bool *whole)
{
    char *end;

    if (strspn(text, "-0123456789.eEi+") != strlen(text) || !strpbrk(text, "0123456789")) return false;
    *whole = text[strlen(text) - 1] == 'i';
    *out = *whole ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    return *end == (*whole ? 'i' : '\0') && isfinite(*out);
}

static bool lp_field(const char **at, const char *end, lp_line *out)
{
    char text[LP_KEY_MOST];
    const char *from;
    int i = out->fields++;

    if (i == LP_FIELDS_MOST || !lp_word(at, end, "=", out->field_key[i], LP_KEY_MOST)) return false;
    from = ++*at;
    while (*at < end && **at != ',' && **at != ' ') (*at)++;
    if (*at == end || (size_t)(*at - from) >= sizeof text) return false;
    memcpy(text, from, (size_t)(*at - from));
    text[*at - from] = '\0';
    return lp_number(text, &out->value[i], &out->whole[i]);
}

static inline bool lp_read(const char *text, size_t size, lp_line *out)
{
    const char *at = text, *end = text + size;
    char stamp[24];
    bool whole;
    double value;
    int i;

    memset(out, 0, sizeof *out);
    if (!lp_word(&at, end, ", ", out->measurement, LP_KEY_MOST)) return false;
    while (*at == ',') {
        i = out->tags++;
        at++;
        if (i == LP_TAGS_MOST || !lp_word(&at, end, "=", out->tag_key[i], LP_KEY_MOST)) return false;
        at++;
        if (!lp_word(&at, end, ", ", out->tag_value[i], LP_VALUE_MOST)) return false;
    }
    do {
        at++;
        if (!lp_field(&at, end, out)) return false;
    } while (*at == ',');
    at++;
    if (at >= end || (size_t)(end - at) >= sizeof stamp) return false;
    memcpy(stamp, at, (size_t)(end - at));
    stamp[end - at] = '\0';
    out->at_ns = strtoll(stamp, NULL, 10);
    return strspn(stamp, "-0123456789") == strlen(stamp) && lp_number(stamp, &value, &whole) && !whole;
}

/* -1: no such field. */
static inline int lp_find(const lp_line *l, const char *field)
{
    int i;

    for (i = 0; i < l->fields && strcmp(l->field_key[i], field) != 0; i++) {}
    return i < l->fields ? i : -1;
}

static inline const char *lp_tag(const lp_line *l, const char *key)
{
    int i;

    for (i = 0; i < l->tags; i++) {
        if (strcmp(l->tag_key[i], key) == 0) return l->tag_value[i];
    }
    return "";
}

#endif /* UDP_LINE_H */
