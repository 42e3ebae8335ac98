/* contest.c - see contest.h */

#include "contest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS_MOST = 20000 };

#define FLOWS_MOST 2e8 /* of a run: their durations are kept */

/* ---- what is run ------------------------------------------------------------------------------------------- */

ex_cell *ex_contest_runs(const ex_contest *c, int32_t s, int32_t p)
{
    return &c->cells[((size_t)s * (size_t)c->policy_count + (size_t)p) * (size_t)c->seeds];
}

/* A round of a trace of amounts takes as long as a run, which must be known before the trace is read. */
int ex_contest_open(ex_contest *c)
{
    bool asked = c->how.round_s > 0;

    if (asked && !c->how.trace_path) return ex_usage("round", "has no use without --trace");
    if (c->how.trace_path && !asked) c->how.round_s = c->duration_s;
    if (!ex_flows_open(&c->world, &c->how)) return EX_FAILED;
    if (asked && c->world.trace->kind != RLLB_ENV_TRACE_AMOUNTS) {
        return ex_usage("round", "%s has requests, which come at a rate or load", c->how.trace_path);
    }
    c->group_count = ex_flows_groups(&c->world.desc, c->groups, NULL);
    return EX_OK;
}

void ex_contest_close(ex_contest *c)
{
    ex_cells_free(c->cells, c->cell_count);
    c->cells = NULL;
    ex_flows_close(&c->world);
}

static void make_settings(ex_contest *c)
{
    int32_t rate_count = c->rates.count + c->loads.count > 0 ? c->rates.count + c->loads.count : 1, i, k;

    for (i = 0; i < rate_count; i++) {
        double rate = c->world.desc.rate;
        if (c->rates.count > 0) rate = c->rates.values[i];
        if (c->loads.count > 0) rate = c->loads.values[i] * c->world.capacity;
        for (k = 0; k < (c->balancers.count > 0 ? c->balancers.count : 1); k++) {
            ex_setting *s = &c->settings[c->setting_count++];
            s->rate = rate;
            s->balancers = c->balancers.count > 0 ? (int32_t)c->balancers.values[k] : c->world.desc.balancers;
        }
    }
}

/* With requests of a trace: until the last of them has come, at the lowest rate. */
static void settle_duration(ex_contest *c)
{
    const rllb_env_trace *t = c->world.trace;
    int32_t i;

    if (!t || t->kind != RLLB_ENV_TRACE_REQUESTS || ex_option_given(c->program, "duration")) return;
    c->duration_s = 1;
    for (i = 0; i < c->setting_count; i++) c->duration_s = fmax(c->duration_s, ceil(t->count / c->settings[i].rate));
}

static int check_size(const ex_contest *c)
{
    double runs = (double)c->setting_count * c->policy_count * c->seeds;
    int32_t i;

    if (runs > CELLS_MOST) return ex_usage("seeds", "%.0f runs in all are more than %d", runs, CELLS_MOST);
    for (i = 0; i < c->setting_count; i++) {
        double flows = c->settings[i].rate * c->duration_s;
        if (flows <= FLOWS_MOST) continue;
        return ex_usage("duration", "%.3g flows in a run are more than %.0g", flows, FLOWS_MOST);
    }
    for (i = 0; i < c->setting_count; i += c->balancers.count > 0 ? c->balancers.count : 1) {
        ex_flows_warn_rate(&c->world, c->settings[i].rate);
    }
    return EX_OK;
}

static int make_cell(const ex_contest *c, ex_cell *cell, const ex_setting *s, const ex_balance *p, int32_t k)
{
    ex_cell_default(cell, &c->world.desc, c->duration_s);
    cell->warmup = c->warmup;
    cell->wants_series = true;
    cell->wants_weights = c->wants_weights;
    cell->desc.rate = s->rate;
    cell->desc.balancers = s->balancers;
    cell->desc.seed = c->seed + (uint64_t)k;
    if (!ex_balance_apply(p, &cell->desc)) return EX_USAGE;
    snprintf(cell->name, sizeof cell->name, "%s, rate %g, balancers %d, seed %llu", p->name, cell->desc.rate,
             (int)cell->desc.balancers, (unsigned long long)cell->desc.seed);
    if (k > 0 || rllb_env_flows_size(&cell->desc) > 0) return EX_OK;
    ex_fail("%s cannot balance this world of %d servers", p->name, (int)cell->desc.count);
    return EX_USAGE;
}

static int make_cells(ex_contest *c)
{
    int32_t s, p, k, status = EX_OK;

    c->cell_count = c->setting_count * c->policy_count * c->seeds;
    c->cells = calloc((size_t)c->cell_count, sizeof *c->cells);
    if (!c->cells) return ex_fail("not enough memory for %d runs", (int)c->cell_count);
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            for (k = 0; k < c->seeds && status == EX_OK; k++) {
                status = make_cell(c, ex_contest_runs(c, s, p) + k, &c->settings[s], &c->policies[p], k);
            }
        }
    }
    return status;
}

int ex_contest_make(ex_contest *c)
{
    int status;

    make_settings(c);
    settle_duration(c);
    status = check_size(c);
    return status == EX_OK ? make_cells(c) : status;
}

int ex_contest_run(ex_contest *c, const char *what)
{
    return ex_cells_run(c->cells, c->cell_count, c->jobs, what, c->quiet);
}

/* ---- figures over seeds --------------------------------------------------------------------------------------- */

ex_estimate ex_contest_figure(const ex_contest *c, int32_t s, int32_t p, ex_flow_figure figure)
{
    return ex_cells_estimate(ex_contest_runs(c, s, p), c->seeds, figure);
}

double ex_contest_lost(const ex_contest *c, int32_t s, int32_t p)
{
    double lost = ex_contest_figure(c, s, p, EX_FLOW_REJECTED).mean + ex_contest_figure(c, s, p, EX_FLOW_FAILED).mean +
                  ex_contest_figure(c, s, p, EX_FLOW_TIMED_OUT).mean;
    double all = lost + ex_contest_figure(c, s, p, EX_FLOW_COMPLETED).mean;

    return all > 0 ? lost / all : (double)NAN;
}

void ex_contest_order(const ex_contest *c, int32_t s, int32_t order[EX_BALANCES_MAX])
{
    double mean[EX_BALANCES_MAX];
    int32_t p, i;

    for (p = 0; p < c->policy_count; p++) {
        mean[p] = ex_contest_figure(c, s, p, EX_FLOW_MEAN).mean;
        if (!isfinite(mean[p])) mean[p] = HUGE_VAL; /* nothing came to an end */
        for (i = p; i > 0 && mean[order[i - 1]] > mean[p]; i--) order[i] = order[i - 1];
        order[i] = p;
    }
}

void ex_contest_text(const ex_contest *c, int32_t s, char *text, size_t size)
{
    const ex_setting *at = &c->settings[s];

    snprintf(text, size, "%s, %.6g flows/s (load %.2f), %d balancer%s", ex_preset_names[c->how.preset], at->rate,
             at->rate / c->world.capacity, (int)at->balancers, at->balancers == 1 ? "" : "s");
}

/* ---- tables ------------------------------------------------------------------------------------------------ */

static int decimals_of(double ms)
{
    ms = fabs(ms);
    return ms < 10 ? 2 : ms < 100 ? 1 : 0;
}

void ex_table_ms(ex_table *t, double seconds)
{
    if (isfinite(seconds)) ex_table_cell(t, "%.*f", decimals_of(1000 * seconds), 1000 * seconds);
    else ex_table_cell(t, "-");
}

void ex_table_interval(ex_table *t, ex_estimate e, bool difference)
{
    int decimals = decimals_of(1000 * e.mean);

    if (!isfinite(e.mean)) {
        ex_table_cell(t, "-");
    } else if (isfinite(e.low)) {
        double half = 500 * (e.high - e.low);
        if (decimals == 0 && half < 10) decimals = 1;
        ex_table_cell(t, difference ? "%+.*f \302\261 %.*f" : "%.*f \302\261 %.*f", decimals, 1000 * e.mean, decimals,
                      half);
    } else {
        ex_table_cell(t, difference ? "%+.*f" : "%.*f", decimals, 1000 * e.mean);
    }
}

const char *ex_group_short(const ex_group *g, char text[32])
{
    if (fabs(g->speed - 1) < 1e-9) snprintf(text, 32, "%d", (int)g->cpus);
    else snprintf(text, 32, "%dx%.3g", (int)g->cpus, g->speed);
    return text;
}

void ex_contest_print_world(const ex_contest *c)
{
    const rllb_env_flows_desc *d = &c->world.desc;
    int32_t i;

    printf("%s: ", ex_preset_names[c->how.preset]);
    for (i = 0; i < c->group_count; i++) {
        printf("%s%d of %s", i ? ", " : "", (int)c->groups[i].servers, c->groups[i].name);
    }
    printf("; they can do %.1f flows/s of %g ms\n", c->world.capacity, 1000 * d->work_s);
    if (d->trace) {
        printf("arrivals: %s, %d %s\n", c->how.trace_path, (int)d->trace->count,
               d->trace->kind == RLLB_ENV_TRACE_AMOUNTS
                   ? "rates, scaled to a mean of the rate below"
                   : "requests, the same for every seed but for the balancer they\n"
                     "come to; times and work are scaled to the means asked for");
    }
    if (d->event_count > 0) printf("events: %d from %s\n", (int)d->event_count, c->how.events_path);
    printf("seeds from %llu on, %d run%s of %g s for each policy, the first %g %% left out%s\n",
           (unsigned long long)c->seed, (int)c->seeds, c->seeds == 1 ? "" : "s", c->duration_s, 100 * c->warmup,
           c->how.unguarded ? "; no guard rails" : "");
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static void json_list(ex_json *j, const char *key, const ex_list *list)
{
    int32_t i;

    ex_json_row_array(j, key);
    for (i = 0; i < list->count; i++) ex_json_double(j, NULL, list->values[i]);
    ex_json_end(j);
}

void ex_contest_json_settings(const ex_contest *c, ex_json *j)
{
    const rllb_env_trace *t = c->world.trace;
    int32_t i;

    ex_json_object(j, "settings");
    ex_json_string(j, "preset", ex_preset_names[c->how.preset]);
    ex_json_int(j, "servers", c->world.desc.count);
    ex_json_row_array(j, "policies");
    for (i = 0; i < c->policy_count; i++) ex_json_string(j, NULL, c->policies[i].name);
    ex_json_end(j);
    json_list(j, "rate", &c->rates);
    json_list(j, "load", &c->loads);
    json_list(j, "balancers", &c->balancers);
    ex_json_string(j, "trace", c->how.trace_path);
    ex_json_string(j, "events", c->how.events_path);
    ex_json_double(j, "round", t && t->kind == RLLB_ENV_TRACE_AMOUNTS ? c->how.round_s : 0);
    ex_json_string(j, "weights", ex_weights_names[c->how.weights]);
    ex_json_string(j, "guards", ex_switch_names[c->how.unguarded]);
    ex_json_int(j, "seeds", c->seeds);
    ex_json_uint(j, "seed", c->seed);
    ex_json_double(j, "duration", c->duration_s);
    ex_json_double(j, "warmup", c->warmup);
}

void ex_contest_json_world(const ex_contest *c, ex_json *j)
{
    int32_t i;

    ex_json_double(j, "capacity", c->world.capacity);
    ex_json_array(j, "groups");
    for (i = 0; i < c->group_count; i++) {
        ex_json_row(j, NULL);
        ex_json_string(j, "name", c->groups[i].name);
        ex_json_int(j, "cpus", c->groups[i].cpus);
        ex_json_double(j, "speed", c->groups[i].speed);
        ex_json_int(j, "servers", c->groups[i].servers);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static void json_run(const ex_contest *c, ex_json *j, int32_t p, const ex_cell *cell)
{
    static const ex_flow_figure shown[] = { EX_FLOW_MEAN, EX_FLOW_P50, EX_FLOW_P90, EX_FLOW_P99, EX_FLOW_P999,
                                            EX_FLOW_JAIN, EX_FLOW_RESIDUAL_MEAN, EX_FLOW_RESIDUAL_MAX };
    int32_t i;

    ex_json_row(j, NULL);
    ex_json_string(j, "preset", ex_preset_names[c->how.preset]);
    ex_json_string(j, "policy", c->policies[p].name);
    ex_json_double(j, "rate", cell->desc.rate);
    ex_json_int(j, "balancers", cell->desc.balancers);
    ex_json_uint(j, "seed", cell->desc.seed);
    for (i = 0; i < EX_COUNT(shown); i++) ex_json_double(j, ex_flow_keys[shown[i]], cell->value[shown[i]]);
    ex_json_int(j, "rejected", (int64_t)cell->value[EX_FLOW_REJECTED]);
    ex_json_int(j, "completed", (int64_t)cell->value[EX_FLOW_COMPLETED]);
    ex_json_row_array(j, "group_busy");
    for (i = 0; i < cell->groups; i++) ex_json_double(j, NULL, cell->busy[i]);
    ex_json_end(j);
    ex_json_end(j);
}

static void json_summary(const ex_contest *c, ex_json *j, int32_t s, int32_t p)
{
    const ex_cell *runs = ex_contest_runs(c, s, p);
    int32_t i;

    ex_json_object(j, NULL);
    ex_json_string(j, "policy", c->policies[p].name);
    ex_json_double(j, "rate", c->settings[s].rate);
    ex_json_double(j, "load", c->settings[s].rate / c->world.capacity);
    ex_json_int(j, "balancers", c->settings[s].balancers);
    for (i = 0; i < EX_FLOW_FIGURES; i++) {
        ex_json_estimate(j, ex_flow_keys[i], ex_contest_figure(c, s, p, (ex_flow_figure)i));
    }
    ex_json_array(j, "group_busy");
    for (i = 0; i < c->group_count; i++) ex_json_estimate(j, NULL, ex_cells_busy(runs, c->seeds, i));
    ex_json_end(j);
    ex_json_estimate(j, "jct_mean_less_first",
                     ex_cells_differ(runs, ex_contest_runs(c, s, 0), c->seeds, EX_FLOW_MEAN));
    ex_json_end(j);
}

void ex_contest_json_results(const ex_contest *c, ex_json *j)
{
    int32_t s, p, k;

    ex_json_array(j, "results");
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            for (k = 0; k < c->seeds; k++) json_run(c, j, p, ex_contest_runs(c, s, p) + k);
        }
    }
    ex_json_end(j);
    ex_json_array(j, "summary"); /* means over the seeds, with intervals where there are several */
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) json_summary(c, j, s, p);
    }
    ex_json_end(j);
}

static void csv_estimate(ex_csv *csv, ex_estimate e)
{
    ex_csv_double(csv, e.mean);
    ex_csv_double(csv, e.low);
    ex_csv_double(csv, e.high);
}

static void csv_estimate_names(ex_csv *csv, const char *name)
{
    char text[80];

    ex_csv_string(csv, name);
    snprintf(text, sizeof text, "%s_low", name);
    ex_csv_string(csv, text);
    snprintf(text, sizeof text, "%s_high", name);
    ex_csv_string(csv, text);
}

bool ex_contest_write_csv(const ex_contest *c, const char *file)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t s, p, i;
    char name[64], shorter[32];
    bool ok;

    ex_csv_string(&csv, "preset");
    ex_csv_string(&csv, "policy");
    ex_csv_string(&csv, "rate");
    ex_csv_string(&csv, "balancers");
    for (i = 0; i < EX_FLOW_FIGURES; i++) csv_estimate_names(&csv, ex_flow_keys[i]);
    for (i = 0; i < c->group_count; i++) {
        snprintf(name, sizeof name, "busy_%s", ex_group_short(&c->groups[i], shorter));
        csv_estimate_names(&csv, name);
    }
    ex_csv_row(&csv);
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            ex_csv_string(&csv, ex_preset_names[c->how.preset]);
            ex_csv_string(&csv, c->policies[p].name);
            ex_csv_double(&csv, c->settings[s].rate);
            ex_csv_int(&csv, c->settings[s].balancers);
            for (i = 0; i < EX_FLOW_FIGURES; i++) csv_estimate(&csv, ex_contest_figure(c, s, p, (ex_flow_figure)i));
            for (i = 0; i < c->group_count; i++) {
                csv_estimate(&csv, ex_cells_busy(ex_contest_runs(c, s, p), c->seeds, i));
            }
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(c->out, file).text);
    ex_text_free(&text);
    return ok;
}

double ex_contest_series(const ex_contest *c, int32_t s, int32_t p, int32_t which, int32_t bin)
{
    const ex_cell *cell = ex_contest_runs(c, s, p);
    double sum = 0;
    int32_t k, there = 0;

    for (k = 0; k < c->seeds; k++) {
        double value = cell[k].series[(size_t)which * (size_t)cell[k].bins + (size_t)bin];
        if (!isfinite(value)) continue;
        sum += value;
        there++;
    }
    return there > 0 ? sum / there : (double)NAN;
}

bool ex_contest_write_series(const ex_contest *c)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t s, p, b, i;
    char name[32];
    bool ok;

    ex_text_printf(&text, "policy,rate,balancers,time_s,jct_mean,completed_per_s,lost_per_s,jain,residual_mean,"
                          "residual_max");
    for (i = 0; i < c->group_count; i++) ex_text_printf(&text, ",busy_%s", ex_group_short(&c->groups[i], name));
    ex_text_printf(&text, "\n");
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            const ex_cell *cell = ex_contest_runs(c, s, p);
            for (b = 0; b < cell->bins; b++) {
                ex_csv_string(&csv, c->policies[p].name);
                ex_csv_double(&csv, c->settings[s].rate);
                ex_csv_int(&csv, c->settings[s].balancers);
                ex_csv_double(&csv, (b + 1) * cell->bin_s);
                for (i = 0; i < EX_COLUMN_BUSY + c->group_count; i++) {
                    ex_csv_double(&csv, ex_contest_series(c, s, p, i, b));
                }
                ex_csv_row(&csv);
            }
        }
    }
    ok = ex_text_write(&text, ex_path_join(c->out, "series.csv").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

ex_path ex_contest_path(const ex_contest *c, int32_t s, const char *what)
{
    char name[96];

    if (c->setting_count == 1) snprintf(name, sizeof name, "%s.png", what);
    else snprintf(name, sizeof name, "%s_%.6g_m%d.png", what, c->settings[s].rate, (int)c->settings[s].balancers);
    return ex_path_join(c->out, name);
}

const char ex_boxes_note[] =
    "From the least mean to the greatest. The slowest 0.5 % and the fastest 2.5 % are not shown. Box: quartiles and "
    "median, whiskers: within 1.5 box heights, dot: mean of what is shown. Grey: sees what no balancer sees.";

/* Quantiles of all seeds together stand for the durations. Powers of ten have no end for short ones. */
bool ex_contest_boxes(const ex_contest *c, int32_t s, const int32_t *policies, int32_t count, ex_boxes *b)
{
    enum { FIRST = 5, KEPT = EX_FLOW_QUANTILES - 1 - FIRST }; /* from 2.5 % to 99.5 % */
    int32_t i, k, q;
    double *at;

    memset(b, 0, sizeof *b);
    b->all = at = malloc((size_t)count * (size_t)c->seeds * KEPT * sizeof *b->all);
    if (!at) return ex_fail("not enough memory for a picture") == EX_OK;
    for (i = 0; i < count; i++) {
        const ex_cell *cell = ex_contest_runs(c, s, policies[i]);
        const ex_balance *p = &c->policies[policies[i]];
        b->values[i] = at;
        b->counts[i] = c->seeds * KEPT;
        b->names[i] = p->name;
        b->colors[i] = p->oracle ? EX_RGB(0x7B8794u) : ex_palette(p->model ? 1 : 0);
        for (k = 0; k < c->seeds; k++) {
            for (q = FIRST; q < FIRST + KEPT; q++) *at++ = 1000 * (double)cell[k].quantile[q];
        }
    }
    b->chart.y.label = "job completion time, ms";
    b->chart.y.logarithmic = true;
    b->chart.categories = b->names;
    b->chart.values = b->values;
    b->chart.counts = b->counts;
    b->chart.category_count = count;
    b->chart.colors = b->colors;
    return true;
}

void ex_axis_settle(ex_axis *y, double least, double most, double apart)
{
    y->from_zero = !(most > apart * least);
    y->logarithmic = !y->from_zero;
    if (!y->logarithmic || most > 100 * least) return;
    y->low = pow(10, floor(log10(least)));
    y->high = pow(10, ceil(log10(most)));
}

static int32_t bins_per_point(const ex_contest *c, int32_t s)
{
    return (ex_contest_runs(c, s, 0)->bins + EX_POINTS_MOST - 1) / EX_POINTS_MOST;
}

int32_t ex_contest_points(const ex_contest *c, int32_t s, double *seconds)
{
    int32_t per = bins_per_point(c, s);

    *seconds = ex_contest_runs(c, s, 0)->bin_s * per;
    return (ex_contest_runs(c, s, 0)->bins + per - 1) / per;
}

/* The mean of a column over the bins of a point; that of durations by how many there were. */
double ex_contest_point(const ex_contest *c, int32_t s, int32_t p, int32_t which, int32_t point)
{
    int32_t per = bins_per_point(c, s), bins = ex_contest_runs(c, s, p)->bins, b;
    double sum = 0, weights = 0;

    for (b = point * per; b < (point + 1) * per && b < bins; b++) {
        double value = ex_contest_series(c, s, p, which, b);
        double weight = which == EX_COLUMN_MEAN ? ex_contest_series(c, s, p, EX_COLUMN_COMPLETED, b) : 1;
        if (!isfinite(value)) continue;
        sum += weight * value;
        weights += weight;
    }
    return weights > 0 ? sum / weights : (double)NAN;
}

int32_t ex_contest_lines(const ex_contest *c, int32_t s, int32_t lines[EX_LINES_MOST])
{
    int32_t order[EX_BALANCES_MAX], count = 0, i;

    if (c->policy_count <= EX_LINES_MOST) { /* then each has its colour in all pictures */
        for (i = 0; i < c->policy_count; i++) lines[i] = i;
        return c->policy_count;
    }
    ex_contest_order(c, s, order);
    lines[count++] = 0;
    for (i = 0; i < c->policy_count && count < EX_LINES_MOST; i++) {
        if (order[i] != 0) lines[count++] = order[i];
    }
    return count;
}

void ex_contest_lines_note(const ex_contest *c, char *text, size_t size)
{
    text[0] = '\0';
    if (c->policy_count > EX_LINES_MOST) {
        snprintf(text, size, " Of %d policies the first and the seven others with the least means.",
                 (int)c->policy_count);
    }
}

/* Mean job completion time against the rate, a panel for each number of balancers; or against that number. */
typedef struct sweep {
    double x[EX_LIST_MAX], mean[EX_LINES_MOST][EX_LIST_MAX];
    double low[EX_LINES_MOST][EX_LIST_MAX], high[EX_LINES_MOST][EX_LIST_MAX];
    ex_series series[EX_LINES_MOST];
    ex_line_chart chart;
    char title[64];
} sweep;

/* first and every: which settings lie on the x axis. */
static void fill_sweep(const ex_contest *c, sweep *to, int32_t first, int32_t every, int32_t points, bool over_rate)
{
    int32_t lines[EX_LINES_MOST], count = ex_contest_lines(c, c->setting_count - 1, lines), i, k;
    double least = HUGE_VAL, most = 0;

    for (i = 0; i < points; i++) {
        const ex_setting *s = &c->settings[first + i * every];
        to->x[i] = over_rate ? s->rate : s->balancers;
    }
    for (k = 0; k < count; k++) {
        for (i = 0; i < points; i++) {
            ex_estimate e = ex_contest_figure(c, first + i * every, lines[k], EX_FLOW_MEAN);
            to->mean[k][i] = 1000 * e.mean;
            to->low[k][i] = isfinite(e.low) ? fmax(1000 * e.low, 1e-6) : 1000 * e.mean;
            to->high[k][i] = isfinite(e.high) ? 1000 * e.high : 1000 * e.mean;
            if (to->mean[k][i] < least) least = to->mean[k][i];
            if (to->mean[k][i] > most) most = to->mean[k][i];
        }
        to->series[k].name = c->policies[lines[k]].name;
        to->series[k].x = to->x;
        to->series[k].y = to->mean[k];
        to->series[k].low = to->low[k];
        to->series[k].high = to->high[k];
        to->series[k].count = points;
        to->series[k].color = ex_palette(k);
        to->series[k].marker = EX_CIRCLE;
    }
    to->chart.series = to->series;
    to->chart.series_count = count;
    to->chart.x.label = over_rate ? "flows per second" : "balancers";
    to->chart.x.logarithmic = !over_rate;
    to->chart.y.label = "job completion time, ms";
    ex_axis_settle(&to->chart.y, least, most, 8);
}

bool ex_contest_sweep(const ex_contest *c)
{
    static sweep panels_of[EX_LIST_MAX];
    int32_t many = c->balancers.count > 0 ? c->balancers.count : 1, rate_count = c->setting_count / many, i;
    int32_t panel_count = rate_count > 1 ? (many < 6 ? many : 6) : 1;
    ex_panel panels[6];
    ex_figure figure;
    char subtitle[240], note[240], more[120];
    int used;

    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    memset(panels_of, 0, sizeof panels_of);
    for (i = 0; i < panel_count; i++) {
        sweep *p = &panels_of[i];
        if (rate_count > 1) {
            int32_t m = c->settings[i].balancers;
            fill_sweep(c, p, i, many, rate_count, true);
            snprintf(p->title, sizeof p->title, "%d balancer%s", (int)m, m == 1 ? "" : "s");
        } else {
            fill_sweep(c, p, 0, 1, many, false);
            snprintf(p->title, sizeof p->title, "%.6g flows/s (load %.2f)", c->settings[0].rate,
                     c->settings[0].rate / c->world.capacity);
        }
        if (panel_count > 1) p->chart.title = p->title;
        panels[i].line = &p->chart;
    }
    used = snprintf(subtitle, sizeof subtitle, "%s: %d servers that can do %.1f flows/s",
                    ex_preset_names[c->how.preset], (int)c->world.desc.count, c->world.capacity);
    if (panel_count == 1) snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; %s", panels_of[0].title);
    ex_contest_lines_note(c, more, sizeof more);
    snprintf(note, sizeof note, "Shaded: 95 %% interval over %d seeds.%s", (int)c->seeds, more);
    figure.title = "Mean job completion time";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = panel_count;
    return ex_figure_write(&figure, panel_count > 1 ? 1440 : 1200, panel_count > 2 ? 1000 : 720,
                           ex_path_join(c->out, "sweep.png").text);
}
