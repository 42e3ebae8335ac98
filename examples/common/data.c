/* data.c - see data.h */

#include "data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ----------------------------------------------------------------------------------------------- */

static const char *not_finite(double value, char out[32])
{
    snprintf(out, 32, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    return out;
}

const char *ex_number_double(double value, char out[32])
{
    int digits;

    if (!isfinite(value)) return not_finite(value, out);
    for (digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (!(strtod(out, NULL) < value) && !(strtod(out, NULL) > value)) break;
    }
    return out;
}

const char *ex_number_float(float value, char out[32])
{
    int digits;

    if (!isfinite(value)) return not_finite((double)value, out);
    for (digits = 6; digits <= 9; digits++) {
        snprintf(out, 32, "%.*g", digits, (double)value);
        if (!(strtof(out, NULL) < value) && !(strtof(out, NULL) > value)) break;
    }
    return out;
}

/* ---- CSV --------------------------------------------------------------------------------------------------- */

static void csv_comma(ex_csv *c)
{
    if (c->row_open) ex_text_add(c->to, ",", 1);
    c->row_open = true;
}

void ex_csv_header(ex_csv *c, const char *names)
{
    ex_text_printf(c->to, "%s\n", names);
}

void ex_csv_string(ex_csv *c, const char *value)
{
    csv_comma(c);
    if (!strpbrk(value, ",\"\r\n")) {
        ex_text_add(c->to, value, strlen(value));
        return;
    }
    ex_text_add(c->to, "\"", 1);
    for (; *value; value++) {
        if (*value == '"') ex_text_add(c->to, "\"", 1);
        ex_text_add(c->to, value, 1);
    }
    ex_text_add(c->to, "\"", 1);
}

void ex_csv_int(ex_csv *c, int64_t value)
{
    csv_comma(c);
    ex_text_printf(c->to, "%lld", (long long)value);
}

void ex_csv_double(ex_csv *c, double value)
{
    char number[32];

    csv_comma(c);
    ex_text_printf(c->to, "%s", ex_number_double(value, number));
}

void ex_csv_float(ex_csv *c, float value)
{
    char number[32];

    csv_comma(c);
    ex_text_printf(c->to, "%s", ex_number_float(value, number));
}

void ex_csv_row(ex_csv *c)
{
    ex_text_add(c->to, "\n", 1);
    c->row_open = false;
}

/* ---- JSON -------------------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at s, 0 if there is none: no overlong forms, surrogates or values past U+10FFFF. */
static size_t utf8_length(const unsigned char *s)
{
    size_t i, n;

    if (s[0] < 0x80) return 1;
    n = s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
    for (i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0;
    if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
    return n;
}

static void json_quoted(ex_text *to, const char *value)
{
    const unsigned char *s = (const unsigned char *)value;

    ex_text_add(to, "\"", 1);
    while (*s) {
        size_t n = utf8_length(s);
        if (n == 0) ex_text_add(to, "\\ufffd", 6);
        else if (*s == '"' || *s == '\\') ex_text_printf(to, "\\%c", *s);
        else if (*s == '\n') ex_text_add(to, "\\n", 2);
        else if (*s == '\t') ex_text_add(to, "\\t", 2);
        else if (*s == '\r') ex_text_add(to, "\\r", 2);
        else if (*s < 32 || *s == 127) ex_text_printf(to, "\\u%04x", (unsigned)*s);
        else ex_text_add(to, s, n);
        s += n ? n : 1;
    }
    ex_text_add(to, "\"", 1);
}

static void json_newline(ex_json *j)
{
    ex_text_printf(j->to, "\n%*s", 2 * (int)j->depth, "");
}

/* What stands before a value: comma, line break, key. */
static void json_before(ex_json *j, const char *key)
{
    bool in_object = j->depth > 0 && j->kind[j->depth - 1] == '{';

    if (in_object != (key != NULL) || (j->depth == 0 && j->items[0] > 0)) j->to->failed = true;
    if (j->items[j->depth] > 0) ex_text_add(j->to, ",", 1);
    if (j->flat && j->items[j->depth] > 0) ex_text_add(j->to, " ", 1);
    if (!j->flat && j->depth > 0) json_newline(j);
    j->items[j->depth]++;
    if (key) {
        json_quoted(j->to, key);
        ex_text_add(j->to, ": ", 2);
    }
}

static void json_open(ex_json *j, const char *key, char kind, bool flat)
{
    json_before(j, key);
    if (j->depth >= EX_JSON_DEPTH) {
        j->to->failed = true;
        return;
    }
    ex_text_add(j->to, &kind, 1);
    j->kind[j->depth++] = kind;
    j->items[j->depth] = 0;
    if (flat && !j->flat) j->flat = j->depth;
}

void ex_json_object(ex_json *j, const char *key)
{
    json_open(j, key, '{', false);
}

void ex_json_array(ex_json *j, const char *key)
{
    json_open(j, key, '[', false);
}

void ex_json_row(ex_json *j, const char *key)
{
    json_open(j, key, '{', true);
}

void ex_json_row_array(ex_json *j, const char *key)
{
    json_open(j, key, '[', true);
}

void ex_json_end(ex_json *j)
{
    bool flat = j->flat != 0, empty = j->items[j->depth] == 0;

    if (j->depth < 1) {
        j->to->failed = true;
        return;
    }
    if (j->flat == j->depth) j->flat = 0;
    j->depth--;
    if (!flat && !empty) json_newline(j);
    ex_text_add(j->to, j->kind[j->depth] == '{' ? "}" : "]", 1);
}

void ex_json_string(ex_json *j, const char *key, const char *value)
{
    json_before(j, key);
    if (value) json_quoted(j->to, value);
    else ex_text_add(j->to, "null", 4);
}

void ex_json_int(ex_json *j, const char *key, int64_t value)
{
    json_before(j, key);
    ex_text_printf(j->to, "%lld", (long long)value);
}

void ex_json_uint(ex_json *j, const char *key, uint64_t value)
{
    json_before(j, key);
    ex_text_printf(j->to, "%llu", (unsigned long long)value);
}

void ex_json_double(ex_json *j, const char *key, double value)
{
    char number[32];

    json_before(j, key);
    ex_text_printf(j->to, "%s", isfinite(value) ? ex_number_double(value, number) : "null");
}

void ex_json_float(ex_json *j, const char *key, float value)
{
    char number[32];

    json_before(j, key);
    ex_text_printf(j->to, "%s", isfinite(value) ? ex_number_float(value, number) : "null");
}

void ex_json_bool(ex_json *j, const char *key, bool value)
{
    json_before(j, key);
    ex_text_printf(j->to, "%s", value ? "true" : "false");
}

bool ex_json_write(ex_json *j, const char *path)
{
    if (j->depth != 0 || j->items[0] != 1) j->to->failed = true;
    ex_text_add(j->to, "\n", 1);
    return ex_text_write(j->to, path);
}
