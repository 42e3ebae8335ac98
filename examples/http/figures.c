/* figures.c - what the logs of the experiment say; see experiment.h */

#include "experiment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const lab_key_names[] = { "mean_ms", "p50_ms", "p90_ms",  "p95_ms",         "p99_ms",
                                      "p999_ms", "sd_ms",  "cv", "throughput_per_s", "lost_percent", NULL };
const char *const lab_verdict_names[] = { "met", "not shown", "missed", "not run" };

#define LAB_LOG_MOST ((size_t)1 << 28)

typedef struct row {
    double at_s; /* when it was due */
    float ms;
    bool ok;
    int8_t server; /* -1: none answered */
} row;

typedef struct log_rows {
    row *rows;
    int32_t count, room;
} log_rows;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

enum { COLUMN_AT, COLUMN_MS, COLUMN_STATUS, COLUMN_SERVER, COLUMNS };
static const char *const column_names[COLUMNS] = { "time_s", "latency_ms", "status", "server" };

/* Where the columns are, by the heading. */
static bool find_columns(const char *path, const char *line, size_t size, int32_t at[COLUMNS])
{
    char heading[256], *word, *rest = heading;
    int32_t i, k = 0;

    for (i = 0; i < COLUMNS; i++) at[i] = -1;
    snprintf(heading, sizeof heading, "%.*s", (int)(size < sizeof heading ? size : sizeof heading - 1), line);
    while ((word = rest) != NULL) {
        rest = strchr(word, ',');
        if (rest) *rest++ = '\0';
        for (i = 0; i < COLUMNS; i++) {
            if (strcmp(word, column_names[i]) == 0) at[i] = k;
        }
        k++;
    }
    for (i = 0; i < COLUMNS; i++) {
        if (at[i] < 0) return ex_fail("%s:1: there is no column %s", path, column_names[i]) == EX_OK;
    }
    return true;
}

/* The number at the end of a server's name is its index. */
static int8_t server_of(const char *text, size_t size)
{
    size_t digits = size;
    long number;

    while (digits > 0 && text[digits - 1] >= '0' && text[digits - 1] <= '9') digits--;
    if (digits == size) return -1;
    number = strtol(text + digits, NULL, 10);
    return number >= 0 && number < LAB_SERVERS ? (int8_t)number : -1;
}

static row *row_new(log_rows *l)
{
    if (l->count == l->room) {
        int32_t room = l->room + l->room / 2 + 4096;
        row *rows = realloc(l->rows, (size_t)room * sizeof *rows);
        if (!rows) return NULL;
        l->rows = rows;
        l->room = room;
    }
    memset(&l->rows[l->count], 0, sizeof *l->rows);
    return &l->rows[l->count++];
}

/* One line without its end. False: it is not of the form. */
static bool read_row(row *r, const char *line, const char *end, const int32_t at[COLUMNS])
{
    int32_t column = 0, seen = 0;
    const char *cell = line;

    r->server = -1;
    for (;;) {
        const char *stop = memchr(cell, ',', (size_t)(end - cell));
        size_t size = (size_t)((stop ? stop : end) - cell);
        char text[40];
        snprintf(text, sizeof text, "%.*s", (int)(size < sizeof text ? size : sizeof text - 1), cell);
        if (column == at[COLUMN_AT]) seen += ex_parse_double(text, &r->at_s);
        if (column == at[COLUMN_STATUS]) r->ok = text[0] == '2';
        if (column == at[COLUMN_SERVER]) r->server = server_of(text, strlen(text));
        if (column == at[COLUMN_MS]) {
            double ms = (double)NAN;
            seen += size == 0 || ex_parse_double(text, &ms);
            r->ms = (float)ms;
        }
        column++;
        if (!stop) break;
        cell = stop + 1;
    }
    return seen == 2;
}

static bool read_log(const char *path, log_rows *to)
{
    ex_text text = { 0 };
    const char *line, *end;
    int32_t at[COLUMNS], number = 1;
    bool ok = ex_file_read(path, LAB_LOG_MOST, &text);

    if (ok && text.size == 0) ok = ex_fail("%s: it is empty", path) == EX_OK;
    line = text.data;
    end = ok ? memchr(line, '\n', text.size) : NULL;
    ok = ok && (end || ex_fail("%s: no lines", path) == EX_OK) && find_columns(path, line, (size_t)(end - line), at);
    while (ok && (line = end + 1) < text.data + text.size) {
        row *r = row_new(to);
        end = memchr(line, '\n', (size_t)(text.data + text.size - line));
        number++;
        if (!end) ok = ex_fail("%s:%d: the line is not whole", path, (int)number) == EX_OK;
        else if (!r) ok = ex_fail("%s: not enough memory", path) == EX_OK;
        else if (!read_row(r, line, end, at)) ok = ex_fail("%s:%d: not a request", path, (int)number) == EX_OK;
    }
    ex_text_free(&text);
    return ok;
}

static int by_time(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return (x->at_s > y->at_s) - (x->at_s < y->at_s);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* ---- one run ------------------------------------------------------------------------------------------------- */

static int32_t learning_rows(const lab_scene *s, const log_rows *l)
{
    int32_t i = 0;

    if (s->requests > 0) return s->learn < l->count ? s->learn : l->count;
    while (i < l->count && l->rows[i].at_s < s->learn_s) i++;
    return i;
}

static double quantile(const float *sorted, int32_t count, double q)
{
    double at = q * (count - 1), below = floor(at);
    int32_t i = (int32_t)below;

    if (count < 1) return (double)NAN;
    if (i + 1 >= count) return (double)sorted[count - 1];
    return (double)sorted[i] + (at - below) * ((double)sorted[i + 1] - (double)sorted[i]);
}

static void measure_times(lab_figures *f, float *ms, int32_t count, float quantiles[LAB_QUANTILES])
{
    double sum = 0, squares = 0;
    int32_t i;

    for (i = 0; i < count; i++) sum += (double)ms[i];
    f->mean = count > 0 ? sum / count : (double)NAN;
    for (i = 0; i < count; i++) squares += ((double)ms[i] - f->mean) * ((double)ms[i] - f->mean);
    f->sd = count > 1 ? sqrt(squares / (count - 1)) : (double)NAN;
    f->cv = f->sd / f->mean;
    qsort(ms, (size_t)count, sizeof *ms, by_value);
    f->p50 = quantile(ms, count, 0.5);
    f->p90 = quantile(ms, count, 0.9);
    f->p95 = quantile(ms, count, 0.95);
    f->p99 = quantile(ms, count, 0.99);
    f->p999 = quantile(ms, count, 0.999);
    for (i = 0; i < LAB_QUANTILES; i++) quantiles[i] = (float)quantile(ms, count, i / (LAB_QUANTILES - 1.0));
}

static void measure_figures(lab_run *r, const lab_scene *s, const row *rows, int32_t count, float *ms)
{
    double from_s = count > 0 ? rows[0].at_s : 0, to_s = from_s;
    int32_t i, answered = 0;

    r->f.sent = count;
    for (i = 0; i < count; i++) {
        double end_s = rows[i].at_s + (isfinite(rows[i].ms) ? (double)rows[i].ms * 1e-3 : 0);
        if (end_s > to_s) to_s = end_s;
        if (rows[i].server >= 0 && rows[i].server < s->servers) {
            r->f.share[rows[i].server]++;
            answered++;
        }
        if (rows[i].ok) ms[r->f.ok++] = rows[i].ms;
    }
    for (i = 0; i < s->servers; i++) r->f.share[i] = answered > 0 ? r->f.share[i] / answered : (double)NAN;
    r->f.throughput = to_s > from_s ? r->f.ok / (to_s - from_s) : (double)NAN;
    measure_times(&r->f, ms, r->f.ok, r->quantile);
}

static void measure_curve(lab_run *r, const row *rows, int32_t count)
{
    int32_t i, k;

    for (k = 0; k < LAB_CURVE; k++) {
        int32_t from = (int32_t)((int64_t)count * k / LAB_CURVE), to = (int32_t)((int64_t)count * (k + 1) / LAB_CURVE);
        double sum = 0;
        int32_t ok = 0;
        for (i = from; i < to; i++) {
            if (!rows[i].ok) continue;
            sum += (double)rows[i].ms;
            ok++;
        }
        r->curve[k] = ok > 0 ? (float)(sum / ok) : NAN;
    }
}

static double run_seconds(const lab_scene *s, const log_rows *l)
{
    if (s->requests <= 0) return s->total_s;
    return l->count > 0 ? l->rows[l->count - 1].at_s : 0;
}

static bool measure_time(lab_run *r, const lab_scene *s, const log_rows *l)
{
    double seconds = run_seconds(s, l);
    int32_t i, b, *got;

    r->windows = (int32_t)(seconds / LAB_WINDOW_S + 1e-9);
    r->bins = (int32_t)seconds;
    r->window = calloc((size_t)r->windows + 1, sizeof *r->window);
    r->bin_mean = calloc((size_t)r->bins + 1, sizeof *r->bin_mean);
    r->bin_done = calloc((size_t)r->bins + 1, sizeof *r->bin_done);
    r->bin_share = calloc((size_t)r->bins + 1, LAB_SERVERS * sizeof *r->bin_share);
    got = calloc((size_t)r->windows + 1, sizeof *got);
    if (!r->window || !r->bin_mean || !r->bin_done || !r->bin_share || !got) {
        free(got);
        return ex_fail("not enough memory for the figures") == EX_OK;
    }
    for (i = 0; i < l->count; i++) {
        const row *x = &l->rows[i];
        int32_t w = (int32_t)(x->at_s / LAB_WINDOW_S);
        b = (int32_t)x->at_s;
        if (x->ok && w < r->windows) {
            r->window[w] += x->ms;
            got[w]++;
        }
        if (b >= r->bins) continue;
        if (x->ok) r->bin_mean[b] += x->ms;
        if (x->ok) r->bin_done[b]++;
        if (x->server >= 0 && x->server < s->servers) r->bin_share[b * LAB_SERVERS + x->server]++;
    }
    for (i = 0; i < r->windows; i++) r->window[i] = got[i] > 0 ? r->window[i] / (float)got[i] : NAN;
    for (b = 0; b < r->bins; b++) {
        float sum = 0;
        r->bin_mean[b] = r->bin_done[b] > 0 ? r->bin_mean[b] / r->bin_done[b] : NAN;
        for (i = 0; i < s->servers; i++) sum += r->bin_share[b * LAB_SERVERS + i];
        for (i = 0; i < s->servers; i++) r->bin_share[b * LAB_SERVERS + i] /= sum;
    }
    free(got);
    return true;
}

static bool measure(lab_run *r, const lab_scene *s, log_rows *l)
{
    float *ms = malloc(((size_t)l->count + 1) * sizeof *ms);
    int32_t first;
    bool ok;

    if (!ms) return ex_fail("not enough memory for the figures") == EX_OK;
    qsort(l->rows, (size_t)l->count, sizeof *l->rows, by_time);
    first = learning_rows(s, l);
    measure_figures(r, s, l->rows + first, l->count - first, ms);
    measure_curve(r, l->rows, l->count);
    ok = measure_time(r, s, l);
    free(ms);
    r->done = ok;
    return ok;
}

/* What was due from shortly before an event, since it may have met it, to shortly before the next one. */
static void measure_events(lab_run *r, const lab_scene *s, const log_rows *l)
{
    const double before_s = 0.5;
    int32_t i, k;

    for (i = 0; i < l->count; i++) {
        for (k = s->events - 1; k >= 0 && l->rows[i].at_s < s->event[k].at_s - before_s; k--) {}
        if (k < 0) continue;
        r->event_sent[k]++;
        r->event_lost[k] += !l->rows[i].ok;
    }
}

/* Processor time that the cell kept, for the requests that were due meanwhile. */
static bool measure_used(lab_run *r, const char *path, const log_rows *l)
{
    double from_s, to_s, hosts_s, companions_s;
    FILE *f = fopen(path, "r");
    int32_t i, ok = 0, got = f ? fscanf(f, "%lf %lf %lf %lf", &from_s, &to_s, &hosts_s, &companions_s) : 0;

    if (f) fclose(f);
    if (got != 4 || !(to_s > from_s)) return ex_fail("%s: no processor times", path) == EX_OK;
    for (i = 0; i < l->count; i++) ok += l->rows[i].ok && l->rows[i].at_s >= from_s && l->rows[i].at_s < to_s;
    r->core = hosts_s > 0 ? ok / hosts_s : (double)NAN;
    /* Part of it is there without a request: where more were served than that it is not scaled down. */
    r->helper = 100 * companions_s / (to_s - from_s) * fmax(1, LAB_PER_S * (to_s - from_s) / ok);
    return true;
}

static bool read_run(lab *l, int32_t s, int32_t p, int32_t i, log_rows *rows)
{
    lab_run *r = lab_run_of(l, s, p, i);
    const lab_scene *x = &l->scene[s];

    rows->count = 0;
    r->core = r->helper = (double)NAN;
    if (!read_log(lab_log(l, s, p, i).text, rows) || !measure(r, x, rows)) return false;
    measure_events(r, x, rows);
    return x->part != LAB_COST || measure_used(r, lab_used(l, s, p, i).text, rows);
}

bool lab_read(lab *l)
{
    log_rows rows = { NULL, 0, 0 };
    int32_t s, p, i;
    bool ok = true;

    for (s = 0; ok && s < l->scenes; s++) {
        for (p = 0; ok && p < l->policies && l->scene[s].wanted; p++) {
            for (i = 0; ok && i < l->repeats && lab_has(&l->scene[s], p); i++) {
                ok = read_run(l, s, p, i, &rows);
            }
        }
    }
    free(rows.rows);
    return ok;
}

void lab_free(lab *l)
{
    int32_t i;

    for (i = 0; l->runs && i < l->scenes * l->policies * l->repeats; i++) {
        free(l->runs[i].window);
        free(l->runs[i].bin_mean);
        free(l->runs[i].bin_done);
        free(l->runs[i].bin_share);
    }
    free(l->runs);
    l->runs = NULL;
}

/* ---- over the repeats ------------------------------------------------------------------------------------------ */

/* By Student's t; NaN if one of the values is. */
static ex_estimate estimate(const double *values, int32_t count)
{
    static const ex_estimate unknown = { (double)NAN, (double)NAN, (double)NAN };
    int32_t i;

    for (i = 0; i < count; i++) {
        if (!isfinite(values[i])) return unknown;
    }
    return ex_estimate_t(values, count);
}

double lab_value(const lab_run *r, lab_key key)
{
    const lab_figures *f = &r->f;

    if (!r->done) return (double)NAN;
    switch (key) {
    case LAB_MEAN: return f->mean;
    case LAB_P50: return f->p50;
    case LAB_P90: return f->p90;
    case LAB_P95: return f->p95;
    case LAB_P99: return f->p99;
    case LAB_P999: return f->p999;
    case LAB_SD: return f->sd;
    case LAB_CV: return f->cv;
    case LAB_THROUGHPUT: return f->throughput;
    case LAB_LOST: return f->sent > 0 ? 100.0 * (f->sent - f->ok) / f->sent : (double)NAN;
    case LAB_CORE: return r->core;
    case LAB_HELPER: return r->helper;
    default: return (double)NAN;
    }
}

ex_estimate lab_estimate(const lab *l, int32_t scene, int32_t policy, lab_key key)
{
    double values[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) values[i] = lab_value(lab_run_of(l, scene, policy, i), key);
    return estimate(values, l->repeats);
}

static double median(float *values, int32_t count)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        if (!isfinite(values[i])) return (double)NAN;
    }
    qsort(values, (size_t)count, sizeof *values, by_value);
    return quantile(values, count, 0.5);
}

double lab_median(const lab *l, int32_t scene, int32_t policy, lab_key key)
{
    float values[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) values[i] = (float)lab_value(lab_run_of(l, scene, policy, i), key);
    return median(values, l->repeats);
}

double lab_above_median(const lab *l, int32_t scene, int32_t policy, int32_t other, lab_key key)
{
    float values[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) {
        double a = lab_value(lab_run_of(l, scene, policy, i), key), b = lab_value(lab_run_of(l, scene, other, i), key);
        values[i] = (float)(100 * (a / b - 1));
    }
    return median(values, l->repeats);
}

ex_estimate lab_share(const lab *l, int32_t scene, int32_t policy, int32_t server)
{
    double values[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) {
        const lab_run *r = lab_run_of(l, scene, policy, i);
        values[i] = r->done ? r->f.share[server] : (double)NAN;
    }
    return estimate(values, l->repeats);
}

/* Logarithms of ratios back to percent. */
static ex_estimate percent(const double *logs, int32_t count)
{
    ex_estimate e = estimate(logs, count);

    e.mean = 100 * expm1(e.mean);
    e.low = 100 * expm1(e.low);
    e.high = 100 * expm1(e.high);
    return e;
}

ex_estimate lab_above(const lab *l, int32_t scene, int32_t policy, int32_t other, lab_key key)
{
    double logs[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) {
        logs[i] = log(lab_value(lab_run_of(l, scene, policy, i), key) / lab_value(lab_run_of(l, scene, other, i), key));
    }
    return percent(logs, l->repeats);
}

int32_t lab_windows(const lab *l, int32_t scene)
{
    int32_t p, i, least = 1 << 20;

    for (p = 0; p < l->policies; p++) {
        for (i = 0; i < l->repeats && lab_has(&l->scene[scene], p); i++) {
            const lab_run *r = lab_run_of(l, scene, p, i);
            if (r->done && r->windows < least) least = r->windows;
        }
    }
    return least < 1 << 20 ? least : 0;
}

ex_estimate lab_window_above(const lab *l, int32_t scene, int32_t policy, int32_t other, int32_t w)
{
    double logs[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) {
        const lab_run *a = lab_run_of(l, scene, policy, i), *b = lab_run_of(l, scene, other, i);
        bool both = a->done && b->done && w < a->windows && w < b->windows;
        logs[i] = both ? log((double)a->window[w] / (double)b->window[w]) : (double)NAN;
    }
    return percent(logs, l->repeats);
}

double lab_window_median(const lab *l, int32_t scene, int32_t policy, int32_t other, int32_t w)
{
    float above[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) {
        const lab_run *a = lab_run_of(l, scene, policy, i), *b = lab_run_of(l, scene, other, i);
        if (!a->done || !b->done || w >= a->windows || w >= b->windows) return (double)NAN;
        above[i] = 100 * (a->window[w] / b->window[w] - 1);
    }
    return median(above, l->repeats);
}

int32_t lab_share_series(const lab *l, int32_t scene, int32_t policy, int32_t server, double *out, int32_t room)
{
    int32_t i, b, bins = room;

    for (i = 0; i < l->repeats; i++) {
        const lab_run *r = lab_run_of(l, scene, policy, i);
        if (!r->done) return 0;
        if (r->bins < bins) bins = r->bins;
    }
    for (b = 0; b < bins; b++) {
        out[b] = 0;
        for (i = 0; i < l->repeats; i++) {
            out[b] += (double)lab_run_of(l, scene, policy, i)->bin_share[b * LAB_SERVERS + server] / l->repeats;
        }
    }
    return bins;
}

double lab_due(const lab_scene *s, int32_t server)
{
    double all = 0;
    int32_t i;

    for (i = 0; i < s->servers; i++) all += s->server[i].before;
    return s->server[server].before / all;
}

double lab_there(const lab *l, int32_t scene, int32_t policy, int32_t server, double at_s, double due)
{
    double share[1024], near = due > 0 ? 0.2 * due : 0.1 / l->scene[scene].servers;
    int32_t b, bins = lab_share_series(l, scene, policy, server, share, 1024);

    for (b = (int32_t)ceil(at_s); b < bins; b++) {
        if (share[b] >= due - near && (due > 0 || share[b] <= near)) return b + 1 - at_s;
    }
    return (double)NAN;
}

/* Mean share of a server in seconds of a run; those in which nothing was answered do not count. */
static double mean_share(const lab_run *r, int32_t server, int32_t from, int32_t to)
{
    double sum = 0;
    int32_t b, used = 0;

    for (b = from; b < to && b < r->bins; b++) {
        double share = (double)r->bin_share[b * LAB_SERVERS + server];
        if (!isfinite(share)) continue;
        sum += share;
        used++;
    }
    return sum / used;
}

lab_most lab_uneven(const lab *l, int32_t scene, int32_t policy, double span_s)
{
    lab_most most = { (double)NAN, 0, 0, 0 };
    int32_t servers = l->scene[scene].servers, i, v, k;

    for (i = 0; i < l->repeats; i++) {
        const lab_run *r = lab_run_of(l, scene, policy, i);
        int32_t span = (int32_t)fmin(span_s, r->bins);
        for (k = 0; span > 0 && (k + 1) * span <= r->bins; k++) {
            for (v = 0; v < servers; v++) {
                double away = 100 * fabs(servers * mean_share(r, v, k * span, (k + 1) * span) - 1);
                if (away <= most.percent || !isfinite(away)) continue;
                most.percent = away;
                most.server = v;
                most.repeat = i;
                most.span = k;
            }
        }
    }
    return most;
}

/* Of one run. */
static double swing(const lab_run *r, const lab_scene *s)
{
    enum { SPAN = 5 };
    int32_t from = (int32_t)ceil(s->learn_s), spans = (r->bins - from) / SPAN, i, k, b;
    double sum = 0;

    if (!r->done || spans < 3) return (double)NAN;
    for (i = 0; i < s->servers; i++) {
        double values[256];
        for (k = 0; k < spans && k < 256; k++) {
            values[k] = 0;
            for (b = 0; b < SPAN; b++) {
                values[k] += (double)r->bin_share[(from + k * SPAN + b) * LAB_SERVERS + i] / SPAN;
            }
        }
        sum += pow(ex_tail_sd(values, k, k), 2);
    }
    return sqrt(sum / s->servers);
}

ex_estimate lab_swing(const lab *l, int32_t scene, int32_t policy)
{
    double values[LAB_REPEATS];
    int32_t i;

    for (i = 0; i < l->repeats; i++) values[i] = 100 * swing(lab_run_of(l, scene, policy, i), &l->scene[scene]);
    return estimate(values, l->repeats);
}

/* ---- goals --------------------------------------------------------------------------------------------------- */

static lab_verdict judge(const ex_estimate *value, double bound)
{
    if (!isfinite(value->mean)) return LAB_NOT_RUN;
    if (value->mean > bound) return LAB_MISSED;
    return isfinite(value->high) && value->high > bound ? LAB_NOT_SHOWN : LAB_MET;
}

static lab_goal *goal_new(lab_goal *goals, int32_t *count, const char *key, double bound, const char *unit)
{
    lab_goal *g = &goals[*count < LAB_GOALS ? (*count)++ : LAB_GOALS - 1];

    memset(g, 0, sizeof *g);
    snprintf(g->key, sizeof g->key, "%s", key);
    g->bound = bound;
    g->unit = unit;
    g->value.mean = g->value.low = g->value.high = (double)NAN;
    return g;
}

static bool both(const lab *l, int32_t s, int32_t a, int32_t b)
{
    return s >= 0 && a >= 0 && b >= 0 && lab_has(&l->scene[s], a) && lab_has(&l->scene[s], b);
}

/* How far below round robin a policy can be that sends everything to the fastest server, in percent. */
static double best_below(const lab_scene *s)
{
    double sum = 0, least = HUGE_VAL;
    int32_t i;

    for (i = 0; i < s->servers; i++) {
        double ms = s->server[i].block_ms + s->server[i].delay_ms;
        sum += ms / s->servers;
        least = fmin(least, ms);
    }
    return 100 * (least / sum - 1);
}

/* Better and worse only where the interval says so. */
static void beside(lab_goal *g, const lab_scene *s, ex_estimate e)
{
    const char *word = "no better than";

    if (isfinite(e.high) && e.high < 0) word = "better than";
    else if (isfinite(e.low) && e.low > 0) word = "worse than";
    else if (!isfinite(e.high)) word = "once, no interval: beside";
    snprintf(g->note, sizeof g->note, "%s least connections (%+.1f %%); the fastest server alone and idle: %+.1f %%",
             word, e.mean, best_below(s));
}

static void goal_q_learning(const lab *l, lab_goal *goals, int32_t *count)
{
    static const char *const scenes[] = { "three_closed", "three_open", "slot_closed", "slot_open" };
    int32_t q = lab_find(l, "q_learning"), rr = lab_find(l, "round_robin"), lsq = lab_find(l, "lsq"), i;
    char text[64];

    for (i = 0; i < EX_COUNT(scenes); i++) {
        int32_t s = lab_find_scene(l, LAB_PROXY, scenes[i]);
        lab_goal *g;
        if (!both(l, s, q, rr)) continue;
        snprintf(text, sizeof text, "q_learning_%s", scenes[i]);
        g = goal_new(goals, count, text, -15, "%");
        snprintf(g->what, sizeof g->what,
                 "%s: Q-learning's mean latency at least 15 %% below round robin's, once learned", l->scene[s].title);
        g->value = lab_above(l, s, q, rr, LAB_MEAN);
        g->verdict = judge(&g->value, g->bound);
        if (both(l, s, q, lsq)) beside(g, &l->scene[s], lab_above(l, s, q, lsq, LAB_MEAN));
    }
}

/* Goals of hosts have their name before them. */
static lab_goal *goal_of(lab_goal *goals, int32_t *count, lab_host host, const char *what, const char *world,
                         double bound, const char *unit)
{
    char key[64];

    snprintf(key, sizeof key, "%s%s%s%s", host == LAB_PROXY ? "" : lab_host_names[host], host == LAB_PROXY ? "" : "_",
             what, world);
    return goal_new(goals, count, key, bound, unit);
}

static void goal_tail(const lab *l, lab_host host, lab_goal *goals, int32_t *count)
{
    static const char *const worlds[] = { "degraded_1", "degraded_2" };
    int32_t i, w;

    for (i = 0; i < EX_COUNT(worlds); i++) {
        int32_t s = lab_find_scene(l, host, worlds[i]), learned = lab_role_of(l, s, LAB_LEARNED);
        int32_t oracle = lab_role_of(l, s, LAB_ORACLE), base = lab_role_of(l, s, LAB_BASE);
        lab_goal *g;
        if (both(l, s, learned, oracle)) {
            g = goal_of(goals, count, host, "tail_", worlds[i], 10, "%");
            snprintf(g->what, sizeof g->what, "%s: %s's P99 at most 10 %% above that of %s told the true weights",
                     l->scene[s].title, l->policy[learned].name, host == LAB_HAPROXY ? "leastconn" : "SED");
            g->value = lab_above(l, s, learned, oracle, LAB_P99);
            g->verdict = judge(&g->value, g->bound);
            snprintf(g->note, sizeof g->note, "median of the repeats %+.1f %%",
                     lab_above_median(l, s, learned, oracle, LAB_P99));
        }
        if (!both(l, s, learned, base)) continue;
        g = goal_of(goals, count, host, "windows_", worlds[i], 5, "%");
        snprintf(g->what, sizeof g->what,
                 "%s: %s's mean of no 10 s, learning included, more than 5 %% above least connections'",
                 l->scene[s].title, l->policy[learned].name);
        for (w = 0; w < lab_windows(l, s); w++) {
            ex_estimate e = lab_window_above(l, s, learned, base, w);
            if (!(e.mean <= g->value.mean)) {
                g->value = e;
                snprintf(g->note, sizeof g->note, "worst of %d: from second %g on; mean over repeats, median %+.1f %%",
                         (int)lab_windows(l, s), w * LAB_WINDOW_S, lab_window_median(l, s, learned, base, w));
            }
        }
        /* The worst of many has an interval that reaches over any bound: the mean is what is judged. */
        {
            ex_estimate mean = { g->value.mean, (double)NAN, (double)NAN };
            g->verdict = judge(&mean, g->bound);
        }
    }
}

static void goal_farm(const lab *l, lab_host host, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, host, "farm_640"), learned = lab_role_of(l, s, LAB_LEARNED_WEIGHTED);
    int32_t weighted = lab_role_of(l, s, LAB_WEIGHTED);
    lab_goal *g;

    if (!both(l, s, learned, weighted)) return;
    g = goal_of(goals, count, host, "farm_640", "", 3, "%");
    snprintf(g->what, sizeof g->what, "%s: mean of %s at most 3 %% above that of %s, both told the right weights",
             l->scene[s].title, l->policy[learned].name, l->policy[weighted].name);
    g->value = lab_above(l, s, learned, weighted, LAB_MEAN);
    g->verdict = judge(&g->value, g->bound);
    snprintf(g->note, sizeof g->note, "median of the repeats %+.1f %%, of P99 %+.1f %%",
             lab_above_median(l, s, learned, weighted, LAB_MEAN), lab_above_median(l, s, learned, weighted, LAB_P99));
}

static void goal_healed(const lab *l, lab_host host, const char *world, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, host, world), learned = lab_role_of(l, s, LAB_LEARNED);
    const lab_fault *back;
    lab_goal *g;

    if (learned < 0) return;
    back = &l->scene[s].fault[l->scene[s].faults - 1];
    g = goal_of(goals, count, host, world, "", 10, "s");
    snprintf(g->what, sizeof g->what,
             "%s%s, %g/s: a server that healed has its fair share back within 10 s (to a fifth, mean of a second)",
             host == LAB_NGINX ? "nginx: " : "", l->policy[learned].name, l->scene[s].rate);
    g->value.mean = lab_there(l, s, learned, back->server, back->at_s, lab_due(&l->scene[s], back->server));
    if (isfinite(g->value.mean)) g->verdict = judge(&g->value, g->bound);
    else {
        double left_s = l->scene[s].total_s - back->at_s;
        g->verdict = left_s < g->bound ? LAB_NOT_RUN : LAB_MISSED;
        snprintf(g->note, sizeof g->note, "not within the %g s that were left", left_s);
    }
}

static void goal_left(const lab *l, lab_host host, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, host, "fail"), learned = lab_role_of(l, s, LAB_LEARNED);
    const lab_fault *fails;
    lab_goal *g;

    if (learned < 0) return;
    fails = &l->scene[s].fault[0];
    g = goal_of(goals, count, host, "fail", "", 2, "s");
    snprintf(g->what, sizeof g->what, "%s%s: a server that fails fast is left within 2 s (mean of a second)",
             host == LAB_NGINX ? "nginx: " : "", l->policy[learned].name);
    g->value.mean = lab_there(l, s, learned, fails->server, fails->at_s, 0);
    g->verdict = isfinite(g->value.mean) ? judge(&g->value, g->bound) : LAB_MISSED;
    if (!isfinite(g->value.mean)) snprintf(g->note, sizeof g->note, "never");
}

static void goal_swing(const lab *l, lab_host host, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, host, "degraded_1"), learned = lab_role_of(l, s, LAB_LEARNED);
    int32_t base = lab_role_of(l, s, LAB_BASE), i;
    double logs[LAB_REPEATS];
    lab_goal *g;

    if (!both(l, s, learned, base)) return;
    g = goal_of(goals, count, host, "oscillation", "", 50, "%");
    snprintf(g->what, sizeof g->what,
             "%s: shares (means of 5 s) of %s swing at most half as much again as those of least connections",
             l->scene[s].title, l->policy[learned].name);
    for (i = 0; i < l->repeats; i++) {
        const lab_run *a = lab_run_of(l, s, learned, i), *b = lab_run_of(l, s, base, i);
        logs[i] = log(swing(a, &l->scene[s]) / swing(b, &l->scene[s]));
    }
    g->value = percent(logs, l->repeats);
    g->verdict = judge(&g->value, g->bound);
}

/* For the whole time and by the minute, in every run: one that starves a server here and another there is not even. */
static void goal_equal(const lab *l, lab_host host, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, host, "equal"), learned = lab_role_of(l, s, LAB_LEARNED);
    int32_t base = lab_role_of(l, s, LAB_BASE), i;

    for (i = 0; both(l, s, learned, base) && i < 2; i++) {
        double span_s = i == 0 ? l->scene[s].total_s : LAB_SPAN_S;
        lab_most most = lab_uneven(l, s, learned, span_s);
        lab_goal *g = goal_of(goals, count, host, "equal", i == 0 ? "" : "_minutes", 5, "%");
        char when[48] = "";
        snprintf(g->what, sizeof g->what, "%s: %s's shares equal within 5 %% in every run, over %s", l->scene[s].title,
                 l->policy[learned].name, i == 0 ? "all of it" : "each minute of it");
        g->value.mean = most.percent;
        g->verdict = judge(&g->value, g->bound);
        if (i > 0) snprintf(when, sizeof when, " in minute %d", (int)most.span + 1);
        snprintf(g->note, sizeof g->note, "worst: s%d%s of repeat %d; with %s, worst: %.1f %%", (int)most.server, when,
                 (int)most.repeat + 1, l->policy[base].name, lab_uneven(l, s, base, span_s).percent);
    }
}

/* Failures are counted: what two counts of the same may differ by is chance, and no loss of ours. */
static void goal_lost(const lab *l, lab_host host, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, host, "lost"), learned = lab_role_of(l, s, LAB_LEARNED);
    int32_t base = lab_role_of(l, s, LAB_BASE), k, i;

    for (k = 0; both(l, s, learned, base) && k < l->scene[s].events; k++) {
        double with = 0, without = 0, sent = 0, more[LAB_REPEATS];
        char word[8];
        lab_goal *g;
        for (i = 0; i < l->repeats; i++) {
            const lab_run *a = lab_run_of(l, s, learned, i), *b = lab_run_of(l, s, base, i);
            with += a->event_lost[k];
            without += b->event_lost[k];
            sent += a->event_sent[k];
            more[i] = a->event_lost[k] - b->event_lost[k];
        }
        snprintf(word, sizeof word, "lost_%d", (int)k + 1);
        g = goal_of(goals, count, host, word, "", 2 * sqrt(with + without) / l->repeats, "requests");
        snprintf(g->what, sizeof g->what,
                 "%s, %s: with %s no more failed requests than with %s (in a run, to twice the deviation of chance)",
                 host == LAB_NGINX ? "nginx" : "HAProxy", lab_deed_names[l->scene[s].event[k].deed],
                 l->policy[learned].name, l->policy[base].name);
        g->value = estimate(more, l->repeats);
        if (g->value.mean <= g->bound) g->verdict = LAB_MET;
        else g->verdict = g->value.low > 0 ? LAB_MISSED : LAB_NOT_SHOWN; /* how long a port is closed varies */
        snprintf(g->note, sizeof g->note, "%.0f of %.0f; without %.0f", with, sent, without);
    }
}

/* How far a and b are apart the bad way, in percent: of requests a second below, of times above. */
static ex_estimate worse(const lab *l, int32_t s, int32_t a, int32_t b, lab_key key, double *middle)
{
    ex_estimate e = lab_above(l, s, a, b, key), turned = { -e.mean, -e.high, -e.low };

    *middle = lab_above_median(l, s, a, b, key) * (key == LAB_P99 ? 1 : -1);
    return key == LAB_P99 ? e : turned;
}

static void goal_cost(const lab *l, lab_goal *goals, int32_t *count)
{
    static const struct {
        lab_key key;
        const char *name, *what;
    } those[] = {
        { LAB_THROUGHPUT, "cost_rate", "requests a second of all on this machine at most 3 % below" },
        { LAB_CORE, "cost_core", "requests for a second of nginx's own processor time at most 3 % below" },
        { LAB_P99, "cost_p99", "P99 at most 3 % above" },
    };
    int32_t s = lab_find_scene(l, LAB_NGINX, "cost"), learned = lab_role_of(l, s, LAB_LEARNED);
    int32_t base = lab_role_of(l, s, LAB_BASE), again = lab_role_of(l, s, LAB_AGAIN), i;

    for (i = 0; both(l, s, learned, base) && i < EX_COUNT(those); i++) {
        lab_goal *g = goal_of(goals, count, LAB_NGINX, those[i].name, "", 3, "%");
        double middle, noise;
        snprintf(g->what, sizeof g->what, "nginx, as much as can be served: with %s %s those of %s",
                 l->policy[learned].name, those[i].what, l->policy[base].name);
        g->value = worse(l, s, learned, base, those[i].key, &middle);
        g->verdict = judge(&g->value, g->bound);
        if (again < 0) {
            snprintf(g->note, sizeof g->note, "median of the repeats %+.1f %%", middle);
            continue;
        }
        worse(l, s, again, base, those[i].key, &noise);
        snprintf(g->note, sizeof g->note, "median of the repeats %+.1f %%; of %s, which is noise: %+.1f %%", middle,
                 l->policy[again].name, noise);
    }
}

static void goal_helper(const lab *l, lab_goal *goals, int32_t *count)
{
    int32_t s = lab_find_scene(l, LAB_HAPROXY, "cost"), learned = lab_role_of(l, s, LAB_LEARNED);
    lab_goal *g;

    if (learned < 0) return;
    g = goal_of(goals, count, LAB_HAPROXY, "cost_companion", "", 2, "%");
    snprintf(g->what, sizeof g->what, "the companion has at most 2 %% of a core at %g requests a second", LAB_PER_S);
    g->value = lab_estimate(l, s, learned, LAB_HELPER);
    g->verdict = judge(&g->value, g->bound);
    snprintf(g->note, sizeof g->note, "%.0f a second were served here",
             lab_estimate(l, s, learned, LAB_THROUGHPUT).mean);
}

int32_t lab_goals(const lab *l, lab_goal out[LAB_GOALS])
{
    int32_t count = 0, host;

    goal_q_learning(l, out, &count);
    for (host = 0; host < LAB_HOSTS; host++) {
        lab_host h = (lab_host)host;
        goal_tail(l, h, out, &count);
        if (h != LAB_PROXY) goal_farm(l, h, out, &count);
        goal_healed(l, h, "heal", out, &count);
        goal_healed(l, h, "heal_640", out, &count);
        goal_left(l, h, out, &count);
        goal_swing(l, h, out, &count);
        goal_equal(l, h, out, &count);
        goal_lost(l, h, out, &count);
    }
    goal_cost(l, out, &count);
    goal_helper(l, out, &count);
    return count;
}
