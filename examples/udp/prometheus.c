/* prometheus.c - the text that node_exporter answers with

   Of it five families are read, and the rest only for its form:

       node_cpu_seconds_total{cpu,mode}          idle and all modes, summed over processors
       node_memory_MemAvailable_bytes            what is not available is used
       node_memory_MemTotal_bytes
       node_network_receive_bytes_total{device}  summed over devices but lo
       node_network_transmit_bytes_total{device}
       node_time_seconds                         the clock there: when the rest was read

   A line that is not of the format makes the whole answer none: half of a sum is worse than nothing. */

#include "source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MOST = 64, LABEL_MOST = 64 };

typedef struct cursor {
    const char *at, *end;
} cursor;

/* One line, read. */
typedef struct sample {
    const char *name;
    size_t name_size;
    char mode[LABEL_MOST], device[LABEL_MOST]; /* empty: no such label, or a value that is too long to matter */
    double value;
} sample;

/* Sums so far, and of how many lines; NaN: not said. */
typedef struct sums {
    double idle_s, all_s, available, total, in, out, time_s;
    int32_t cpus, ins, outs;
} sums;

static bool take(cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static void blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t')) c->at++;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* A metric's name may have colons, a label's may not. */
static size_t word(cursor *c, bool colons)
{
    const char *from = c->at;

    if (c->at == c->end || (!is_letter(*c->at) && !(colons && *c->at == ':'))) return 0;
    while (c->at < c->end && (is_letter(*c->at) || (*c->at >= '0' && *c->at <= '9') || (colons && *c->at == ':'))) {
        c->at++;
    }
    return (size_t)(c->at - from);
}

/* "value" with \\, \" and \n. to NULL: let be. */
static bool label_value(cursor *c, char *to)
{
    size_t n = 0;

    if (!take(c, '"')) return false;
    while (c->at < c->end && *c->at != '"') {
        char byte = *c->at++;
        if (byte == '\\') {
            if (c->at == c->end) return false;
            byte = *c->at++;
            if (byte == 'n') byte = '\n';
        }
        if (to && n < LABEL_MOST) to[n++] = byte;
    }
    if (to) to[n < LABEL_MOST ? n : 0] = '\0';
    return take(c, '"');
}

static bool labels(cursor *c, sample *s)
{
    do {
        const char *name;
        size_t n;
        char *to = NULL;
        blanks(c);
        if (take(c, '}')) return true; /* none, or a comma at the end */
        name = c->at;
        n = word(c, false);
        if (n == 4 && memcmp(name, "mode", 4) == 0) to = s->mode;
        if (n == 6 && memcmp(name, "device", 6) == 0) to = s->device;
        blanks(c);
        if (n == 0 || !take(c, '=')) return false;
        blanks(c);
        if (!label_value(c, to)) return false;
        blanks(c);
    } while (take(c, ','));
    return take(c, '}');
}

/* A number as Go writes it: also NaN, +Inf, 1e+06. */
static bool number(cursor *c, double *out)
{
    char text[NUMBER_MOST], *end;
    size_t n = 0;

    while (c->at < c->end && *c->at != ' ' && *c->at != '\t' && n < sizeof text) text[n++] = *c->at++;
    if (n == 0 || n == sizeof text) return false;
    text[n] = '\0';
    *out = strtod(text, &end);
    return end == text + n;
}

/* NAME[{labels}] VALUE [TIME] */
static bool sample_of(cursor c, sample *s)
{
    double time;

    memset(s, 0, sizeof *s);
    s->name = c.at;
    s->name_size = word(&c, true);
    if (s->name_size == 0) return false;
    blanks(&c);
    if (take(&c, '{') && !labels(&c, s)) return false;
    blanks(&c);
    if (!number(&c, &s->value)) return false;
    blanks(&c);
    if (c.at == c.end) return true;
    if (!number(&c, &time)) return false;
    blanks(&c);
    return c.at == c.end;
}

static bool is(const sample *s, const char *name)
{
    return strlen(name) == s->name_size && memcmp(s->name, name, s->name_size) == 0;
}

static void add(sums *t, const sample *s)
{
    double value = s->value >= 0 && s->value < 1e20 ? s->value : UD_NAN; /* and so the sum, and it is not said */
    double moved = strcmp(s->device, "lo") == 0 ? 0 : value;

    if (is(s, "node_cpu_seconds_total")) {
        t->all_s += value;
        if (strcmp(s->mode, "idle") != 0) return;
        t->idle_s += value;
        t->cpus++;
    } else if (is(s, "node_network_receive_bytes_total")) {
        t->in += moved;
        t->ins++;
    } else if (is(s, "node_network_transmit_bytes_total")) {
        t->out += moved;
        t->outs++;
    } else if (is(s, "node_memory_MemAvailable_bytes")) {
        t->available = value;
    } else if (is(s, "node_memory_MemTotal_bytes")) {
        t->total = value;
    } else if (is(s, "node_time_seconds")) {
        t->time_s = value;
    }
}

/* False: line `*number` is none. */
static bool add_all(const char *text, size_t size, sums *t, int32_t *number_of_line)
{
    const char *at = text, *end = text + size;
    sample s;

    for (*number_of_line = 1; at < end; (*number_of_line)++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        cursor line = { at, stop ? stop : end };
        if (!stop) return false;
        at = stop + 1;
        if (line.end > line.at && line.end[-1] == '\r') line.end--;
        blanks(&line);
        if (line.at == line.end || *line.at == '#') continue;
        if (!sample_of(line, &s)) return false;
        add(t, &s);
    }
    return true;
}

static bool sums_reading(const sums *t, ud_reading *r)
{
    bool cpu = t->cpus > 0 && isfinite(t->idle_s) && isfinite(t->all_s);
    bool memory = t->total > 0 && t->available >= 0 && t->available <= t->total;
    bool network = t->ins > 0 && t->outs > 0 && isfinite(t->in) && isfinite(t->out);

    if (t->time_s > 0) r->at_s = t->time_s;
    if (cpu) {
        r->idle_s = t->idle_s;
        r->all_s = t->all_s;
        r->cpus = t->cpus;
    }
    if (memory) r->memory_percent = 100 * (1 - t->available / t->total);
    if (network) {
        r->bytes_in = t->in;
        r->bytes_out = t->out;
    }
    return cpu || memory || network;
}

int32_t ud_parse_prometheus(const char *host, const char *text, size_t size, double at_s, ud_reading *out,
                            char why[160])
{
    sums t = { 0, 0, UD_NAN, UD_NAN, 0, 0, UD_NAN, 0, 0, 0 };
    int32_t line;

    why[0] = '\0';
    if (!ud_reading_begin(out, host, at_s)) return ud_wrong(why, "'%.40s' is no name of a host", host) ? 0 : -1;
    if (size > 0 && text[size - 1] != '\n') return ud_wrong(why, "cut off: no line end") ? 0 : -1;
    if (!add_all(text, size, &t, &line)) return ud_wrong(why, "line %d is no metric", (int)line) ? 0 : -1;
    return sums_reading(&t, out) ? 1 : 0;
}
