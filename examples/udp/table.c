/* table.c - CSV, times, and the two tables that are files: readings and capacities

   Readings: "time_s,host,cpu,memory,bytes_in,bytes_out" in the first line, columns in any order, others are let be;
   then a row for each reading. time_s is Unix time, empty: when the file was written. cpu and memory are percent,
   bytes are counters; empty: not said.
   Capacities: a line "name,cores,memory bytes,bytes a second each way" for each client; * is for all not named.
   In both, empty lines and those that begin with # mean nothing. What is wrong is told as "LINE: what". */

#include "source.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ud_wrong(char why[160], const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vsnprintf(why, 160, format, values);
    va_end(values);
    return false;
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

bool ud_csv_open(ud_csv *c, const char *text, size_t size)
{
    memset(c, 0, sizeof *c);
    c->next_line = 1;
    if (size > 0 && memchr(text, 0, size)) return ud_wrong(c->why, "not text: it has a zero byte");
    c->text = malloc(size + 1);
    if (!c->text) return ud_wrong(c->why, "not enough memory");
    if (size > 0) memcpy(c->text, text, size);
    c->text[size] = '\0';
    c->at = c->text;
    c->end = c->text + size;
    return true;
}

void ud_csv_close(ud_csv *c)
{
    free(c->text);
    memset(c, 0, sizeof *c);
}

/* A field in quotes, of which two in a row are one. Where its text ends; NULL: nowhere. */
static char *quoted(ud_csv *c)
{
    char *to = c->at, *at = c->at + 1;

    for (; at < c->end; at++) {
        if (*at == '"') {
            if (at[1] != '"') break;
            at++;
        }
        c->next_line += *at == '\n';
        *to++ = *at;
    }
    if (at == c->end) return NULL;
    c->at = at + 1;
    return to;
}

/* The next field; *ended is the comma or line end behind it, 0 where the text ends. NULL: not CSV. */
static char *field_of(ud_csv *c, char *ended)
{
    char *from = c->at, *to;

    if (*from == '"') {
        to = quoted(c);
        if (!to) return NULL;
    } else {
        while (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r') c->at++;
        to = c->at;
    }
    if (*c->at == '\r' && c->at[1] == '\n') c->at++;
    *ended = c->at == c->end ? '\0' : *c->at;
    if (*ended && *ended != ',' && *ended != '\n') return NULL;
    if (*ended) c->at++;
    *to = '\0';
    return from;
}

int32_t ud_csv_row(ud_csv *c, char **field, int32_t most)
{
    int32_t n = 0;
    char ended = ',';

    if (c->at == c->end) return 0;
    c->line = c->next_line;
    while (ended == ',') {
        char *next = n < most ? field_of(c, &ended) : NULL;
        if (!next) {
            const char *fault = n < most ? "a quote or line end out of place" : "too many columns";
            ud_wrong(c->why, "%d: %s", (int)c->line, fault);
            return -1;
        }
        field[n++] = next;
    }
    c->cut = ended == '\0';
    c->next_line++;
    return n;
}

/* ---- names, times ------------------------------------------------------------------------------------------------ */

bool ud_name_ok(const char *name)
{
    size_t n = strlen(name), i;

    if (n == 0 || n >= UD_NAME_MOST) return false;
    for (i = 0; i < n; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 127) return false;
    }
    return true;
}

bool ud_reading_begin(ud_reading *r, const char *host, double at_s)
{
    memset(r, 0, sizeof *r);
    r->at_s = at_s;
    r->cpu_percent = r->memory_percent = r->bytes_in = r->bytes_out = r->idle_s = r->all_s = UD_NAN;
    if (!ud_name_ok(host)) return false;
    memcpy(r->host, host, strlen(host) + 1);
    return true;
}

/* Exactly so many digits, and what must follow them; '\0': anything. */
static bool digits(const char **at, int32_t count, char then, int32_t *out)
{
    for (*out = 0; count > 0; count--, (*at)++) {
        if (**at < '0' || **at > '9') return false;
        *out = 10 * *out + (**at - '0');
    }
    if (then == '\0') return true;
    if (**at != then) return false;
    (*at)++;
    return true;
}

/* Days since 1970 of the Gregorian calendar; years begin in March, so that the leap day is the last. */
static int64_t days_of(int32_t year, int32_t month, int32_t day)
{
    int64_t y = year - (month <= 2), m = month + (month <= 2 ? 9 : -3);

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 719469;
}

/* ".25" */
static double fraction(const char **at)
{
    double unit = 0.1, sum = 0;

    if (**at != '.') return 0;
    for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) sum += unit * (**at - '0');
    return sum;
}

/* "Z", "+01:00": seconds that the clock there is ahead; NaN: neither. */
static double zone(const char **at)
{
    char sign = **at;
    int32_t hours, minutes;

    if (sign == '\0') return UD_NAN;
    (*at)++;
    if (sign == 'Z' || sign == 'z') return 0;
    if ((sign != '+' && sign != '-') || !digits(at, 2, ':', &hours) || !digits(at, 2, '\0', &minutes)) return UD_NAN;
    if (hours > 23 || minutes > 59) return UD_NAN;
    return (sign == '-' ? -60.0 : 60.0) * (60 * hours + minutes);
}

double ud_time_of(const char *text)
{
    int32_t year, month, day, hour, minute, second;
    const char *at = text;
    double part, ahead;

    if (!digits(&at, 4, '-', &year) || !digits(&at, 2, '-', &month) || !digits(&at, 2, 'T', &day) ||
        !digits(&at, 2, ':', &hour) || !digits(&at, 2, ':', &minute) || !digits(&at, 2, '\0', &second)) return UD_NAN;
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return UD_NAN;
    part = fraction(&at);
    ahead = zone(&at);
    if (*at) return UD_NAN;
    return (double)(86400 * days_of(year, month, day) + 3600 * hour + 60 * minute + second) + part - ahead;
}

/* ---- readings ---------------------------------------------------------------------------------------------------- */

enum { COLUMN_TIME, COLUMN_HOST, COLUMN_CPU, COLUMN_MEMORY, COLUMN_IN, COLUMN_OUT, COLUMNS };
static const char *const column_name[COLUMNS] = { "time_s", "host", "cpu", "memory", "bytes_in", "bytes_out" };

static bool means_nothing(char **field, int32_t fields)
{
    return field[0][0] == '#' || (fields == 1 && field[0][0] == '\0');
}

/* Where each column is. */
static bool columns_of(char **field, int32_t fields, int32_t *place, char *why)
{
    int32_t i, j;

    for (i = 0; i < COLUMNS; i++) {
        for (j = 0; j < fields && strcmp(field[j], column_name[i]) != 0; j++) {}
        if (j == fields) return ud_wrong(why, "no column %s", column_name[i]);
        place[i] = j;
    }
    return true;
}

/* Empty: NaN. */
static bool number_of(const char *text, double *out)
{
    *out = UD_NAN;
    return text[0] == '\0' || ex_parse_double(text, out);
}

static bool row_reading(char **field, const int32_t *place, ud_reading *r, char *why)
{
    const char *host = field[place[COLUMN_HOST]];
    double number[COLUMNS];
    int32_t i;

    if (!ud_name_ok(host)) return ud_wrong(why, "host '%.40s' is no name", host);
    for (i = 0; i < COLUMNS; i++) {
        if (i == COLUMN_HOST || number_of(field[place[i]], &number[i])) continue;
        return ud_wrong(why, "%s '%.30s' is no number", column_name[i], field[place[i]]);
    }
    ud_reading_begin(r, host, number[COLUMN_TIME]);
    r->cpu_percent = number[COLUMN_CPU];
    r->memory_percent = number[COLUMN_MEMORY];
    r->bytes_in = number[COLUMN_IN];
    r->bytes_out = number[COLUMN_OUT];
    return true;
}

/* All rows; what is wrong of one goes to `wrong`. */
static int32_t rows_readings(ud_csv *c, ud_reading *out, int32_t most, char *wrong)
{
    int32_t place[COLUMNS], width = 0, n, count = 0;
    char *field[UD_COLUMNS_MOST];

    while ((n = ud_csv_row(c, field, UD_COLUMNS_MOST)) > 0) {
        if (means_nothing(field, n)) continue;
        if (width == 0) {
            if (!columns_of(field, n, place, wrong)) return -1;
            width = n;
            continue;
        }
        if (n != width) return ud_wrong(wrong, "%d fields instead of %d", (int)n, (int)width) ? 0 : -1;
        if (count == most) return ud_wrong(wrong, "more than %d readings", (int)most) ? 0 : -1;
        if (!row_reading(field, place, &out[count], wrong)) return -1;
        count++;
    }
    if (n < 0) return -1;
    if (c->cut) return ud_wrong(wrong, "cut off: no line end") ? 0 : -1;
    return count;
}

int32_t ud_parse_table(const char *text, size_t size, ud_reading *out, int32_t most, char why[160])
{
    char wrong[160] = "";
    int32_t count = -1;
    ud_csv c;

    why[0] = '\0';
    if (ud_csv_open(&c, text, size)) count = rows_readings(&c, out, most, wrong);
    if (wrong[0]) ud_wrong(why, "%d: %.140s", (int)c.line, wrong);
    else if (count < 0) ud_wrong(why, "%s", c.why);
    ud_csv_close(&c);
    return count;
}

/* ---- capacities -------------------------------------------------------------------------------------------------- */

/* Blanks around a field are the writer's. */
static char *trimmed(char *text)
{
    size_t n;

    while (*text == ' ' || *text == '\t') text++;
    for (n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t');) text[--n] = '\0';
    return text;
}

static bool positive(const char *what, const char *text, double *out, char *why)
{
    if (ex_parse_double(text, out) && *out > 0 && *out < 1e18) return true;
    return ud_wrong(why, "%s '%.30s' is no number above 0", what, text);
}

static bool row_capacity(char **field, int32_t fields, ud_capacity *c, char *why)
{
    int32_t i;

    memset(c, 0, sizeof *c);
    if (fields != 4) {
        return ud_wrong(why, "%d fields instead of name,cores,memory bytes,bytes a second", (int)fields);
    }
    for (i = 0; i < fields; i++) field[i] = trimmed(field[i]);
    if (!ud_name_ok(field[0])) return ud_wrong(why, "'%.40s' is no name", field[0]);
    memcpy(c->name, field[0], strlen(field[0]) + 1);
    return positive("cores", field[1], &c->cores, why) && positive("memory", field[2], &c->memory_bytes, why) &&
           positive("bytes a second", field[3], &c->bytes_s, why);
}

static int32_t rows_capacities(ud_csv *c, ud_capacity *out, int32_t most, char *wrong)
{
    char *field[UD_COLUMNS_MOST];
    int32_t n, i, count = 0;

    while ((n = ud_csv_row(c, field, UD_COLUMNS_MOST)) > 0) {
        if (means_nothing(field, n)) continue;
        if (count == most) return ud_wrong(wrong, "more than %d clients", (int)most) ? 0 : -1;
        if (!row_capacity(field, n, &out[count], wrong)) return -1;
        for (i = 0; i < count; i++) {
            if (strcmp(out[i].name, out[count].name) != 0) continue;
            return ud_wrong(wrong, "'%s' is there twice", out[i].name) ? 0 : -1;
        }
        count++;
    }
    return n < 0 ? -1 : count;
}

int32_t ud_parse_capacity(const char *text, size_t size, ud_capacity *out, int32_t most, char why[160])
{
    char wrong[160] = "";
    int32_t count = -1;
    ud_csv c;

    why[0] = '\0';
    if (ud_csv_open(&c, text, size)) count = rows_capacities(&c, out, most, wrong);
    if (wrong[0]) ud_wrong(why, "%d: %.140s", (int)c.line, wrong);
    else if (count < 0) ud_wrong(why, "%s", c.why);
    ud_csv_close(&c);
    return count;
}
