/* arrivals.c - see arrivals.h */

#include "arrivals.h"

#include <math.h>
#include <string.h>

#include "files.h"
#include "options.h"

#define TRACE_BYTES_MOST ((size_t)1 << 30)

rllb_env_trace *ex_trace_read(const char *path)
{
    rllb_env_trace_error error;
    rllb_env_trace *trace;
    ex_text text = { 0 };

    if (!ex_file_read(path, TRACE_BYTES_MOST, &text)) return NULL;
    memset(&error, 0, sizeof error);
    trace = rllb_env_trace_create(NULL, text.data ? text.data : "", text.size, &error);
    if (!trace) {
        const char *words = error.detail[0] ? error.detail : rllb_status_words(error.status);
        if (error.line > 0) ex_fail("%s:%lld: %s", path, (long long)error.line, words);
        else ex_fail("%s: %s", path, words);
    }
    ex_text_free(&text);
    return trace;
}

/* How long a row of the trace lasts, in seconds of the file; the last one as long as is usual. */
static double row_s(const rllb_env_trace *t, int64_t row)
{
    if (row + 1 < t->count) return t->time_s[row + 1] - t->time_s[row];
    if (t->kind == RLLB_ENV_TRACE_AMOUNTS) return rllb_env_trace_step_s(t);
    return t->count > 1 ? t->time_s[row] / (t->count - 1) : 1;
}

int ex_arrivals_open(ex_arrivals *a, const char *path, uint64_t seed, uint64_t stream)
{
    rllb_rng_init(&a->rng, seed, stream);
    a->last_s = a->own_s = 0;
    a->row = a->turn = 0;
    if (a->law != EX_ARRIVALS_TRACE) return EX_GO_ON;
    a->length_s = a->trace->time_s[a->trace->count - 1] + row_s(a->trace, a->trace->count - 1);
    if (!(a->length_s > 0)) return ex_fail("%s: all of it is at one time", path);
    if (a->trace->kind == RLLB_ENV_TRACE_AMOUNTS) {
        if (!(a->rate > 0 && a->duration_s > 0)) return ex_fail("%s: amounts need a rate and a duration", path);
        a->scale = a->duration_s / a->length_s;
        return EX_GO_ON;
    }
    if (!(a->rate > 0)) a->rate = a->trace->count / a->length_s;
    a->scale = a->trace->count / a->length_s / a->rate;
    if (!(a->duration_s > 0)) a->duration_s = a->length_s * a->scale;
    return EX_GO_ON;
}

void ex_arrivals_close(ex_arrivals *a)
{
    rllb_env_trace_destroy(a->trace);
    a->trace = NULL;
}

/* Amounts are rates: a Poisson process whose expected count grows by `gap`, row by row. */
static double amounts_next(ex_arrivals *a, double gap)
{
    const rllb_env_trace *t = a->trace;

    for (;;) {
        double length = row_s(t, a->row), begin = t->time_s[a->row], per_s, left;
        per_s = length > 0 ? a->rate * a->scale * t->work[a->row] / length * a->length_s / t->total : 0;
        left = (begin + length - a->own_s) * per_s;
        if (per_s > 0 && gap < left) {
            a->own_s += gap / per_s;
            return a->own_s * a->scale;
        }
        gap -= left > 0 ? left : 0;
        if (a->row + 1 == t->count) return HUGE_VAL;
        a->own_s = t->time_s[++a->row];
    }
}

static double rows_next(ex_arrivals *a)
{
    double at_s = (a->trace->time_s[a->row] + (double)a->turn * a->length_s) * a->scale;

    if (++a->row == a->trace->count) {
        a->row = 0;
        a->turn++;
    }
    return at_s;
}

double ex_arrivals_next(ex_arrivals *a)
{
    double at_s;

    if (a->law == EX_ARRIVALS_EVEN) at_s = (double)a->turn++ / a->rate;
    else if (a->law == EX_ARRIVALS_POISSON) at_s = a->last_s + rllb_rng_exponential(&a->rng, 1 / a->rate);
    else if (a->trace->kind == RLLB_ENV_TRACE_REQUESTS) at_s = rows_next(a);
    else at_s = amounts_next(a, rllb_rng_exponential(&a->rng, 1));
    a->last_s = at_s;
    return at_s < a->duration_s ? at_s : HUGE_VAL;
}
