/* simulate.c - balancing policies in the flow-level world: many balancers over many servers, request by request

   Shows what a policy does to those who wait: how long requests take, how even the servers' work is, how many requests
   are turned away. Policies meet the same arrivals, seed by seed, so that their difference is known long before the
   means are. Arrivals are random or come from a trace; servers slow down, fail, leave, come back by a list of events.

   Build:   make build/simulate
   Run:     build/simulate --preset moderate --policy sed,lsq,wcmp,"draw(3,1.2,0)" --load 0.6,0.8,0.9 --out out/simulate
   Prints:  a table for each rate and number of balancers
   Writes:  results.json (a row for every run), simulate.csv, series.csv, and for each rate and number of balancers
            boxes.png and series.png; for several of them sweep.png */

#include "flows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS_MOST = 20000, LINES_MOST = 8, SEEDS_MOST = 4096, POINTS_MOST = 100 };

#define FLOWS_MOST 2e8 /* of a run: their durations are kept */

/* ---- settings ---------------------------------------------------------------------------------------------- */

static ex_flows_how how = { .preset = RLLB_ENV_PRESET_MODERATE };
static const char *policies_text = "sed,lsq,p2c_weighted,wcmp,sed_oracle", *out = "out/simulate";
static ex_list rates, loads, balancers;
static int32_t seeds = 5, guards, jobs;
static double duration_s = 120, warmup = 0.1;
static uint64_t seed = 1;
static bool quiet, no_pictures;

static ex_option options[] = {
    EX_HEADING("The world"),
    EX_CHOICE("preset", &how.preset, ex_preset_names, "servers, work and arrivals to begin with, see rllb_env.h"),
    EX_INT("servers", &how.servers, 1, 4096, "N", "that many, those of the preset over and over"),
    EX_LIST("rate", &rates, 1e-6, 1e9, "R,R,...", "flows per second; default: that of the preset"),
    EX_LIST("load", &loads, 1e-6, 100, "L,L,...", "the same as a share of what the servers can do"),
    EX_INT_LIST("balancers", &balancers, 1, 1024, "M,M,...", "how many share the flows; default: as in the preset"),
    EX_STRING("trace", &how.trace_path, "FILE", "arrivals as recorded: requests with their work, or amounts over time"),
    EX_DOUBLE("round", &how.round_s, 1e-3, 1e9, "S", "seconds that a trace of amounts takes; default: --duration"),
    EX_STRING("events", &how.events_path, "FILE", "table of time_s,event,server,value: what happens to servers"),
    EX_HEADING("Policies"),
    EX_STRING("policy", &policies_text, "P,P,...", "by name, or all; draw(d,a,gamma), equalise(stretch) and so on"),
    EX_CHOICE("weights", &how.weights, ex_weights_names, "what balancers are told of their servers"),
    EX_CHOICE("guards", &guards, ex_switch_names, "the balancer's guard rails; off: plain rules"),
    EX_HEADING("Runs"),
    EX_INT("seeds", &seeds, 1, SEEDS_MOST, "N", "runs of every setting"),
    EX_SEED("seed", &seed, "the first of the seeds"),
    EX_DOUBLE("duration", &duration_s, 1, 1e7, "S", "seconds of a run; default for a trace of requests: its length"),
    EX_DOUBLE("warmup", &warmup, 0, 0.95, "X", "share of the run that is left out at its start"),
    EX_INT("jobs", &jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("no-pictures", &no_pictures, "numbers only"),
    EX_FLAG("quiet", &quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "simulate",
    .summary = "balancing policies in the flow-level world",
    .details = "Events: speed (of a server: value times its own), fail (a share `value` of what it gets), back,\n"
               "leave, join, rate (value times the rate).\n"
               "Policies with numbers: draw(d,a,gamma), equalise(duration or stretch,d,a,gamma,eta),\n"
               "maglev_bounded(bound), peak_ewma(seconds), prequal(hot).\n"
               "learned: a policy that was trained, models/rllb-balancer.safetensors; learned(FILE): another one.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- what is run ------------------------------------------------------------------------------------------- */

typedef struct setting { /* a rate and a number of balancers: a table, two pictures */
    double rate;
    int32_t balancers;
} setting;

typedef struct contest {
    ex_flows world;
    ex_balance policies[EX_BALANCES_MAX];
    int32_t policy_count, setting_count, group_count;
    setting settings[EX_LIST_MAX * EX_LIST_MAX];
    ex_group groups[EX_GROUPS_MAX];
    ex_cell *cells; /* [settings][policies][seeds] */
    int32_t cell_count;
} contest;

/* The runs of a policy under a setting, one for each seed. */
static ex_cell *runs_of(const contest *c, int32_t s, int32_t p)
{
    return &c->cells[((size_t)s * (size_t)c->policy_count + (size_t)p) * (size_t)seeds];
}

static int check_options(void)
{
    if (rates.count > 0 && loads.count > 0) return ex_usage("load", "has no use with --rate: one says the other");
    if (how.round_s > 0 && !how.trace_path) return ex_usage("round", "has no use without --trace");
    how.unguarded = guards == 1;
    return EX_OK;
}

/* A round of a trace of amounts takes as long as a run, which must be known before the trace is read. */
static int open_world(contest *c)
{
    bool asked = how.round_s > 0;

    if (how.trace_path && !asked) how.round_s = duration_s;
    if (!ex_flows_open(&c->world, &how)) return EX_FAILED;
    if (asked && c->world.trace->kind != RLLB_ENV_TRACE_AMOUNTS) {
        return ex_usage("round", "%s has requests, which come at --rate or --load", how.trace_path);
    }
    c->group_count = ex_flows_groups(&c->world.desc, c->groups, NULL);
    return EX_OK;
}

static void make_settings(contest *c)
{
    int32_t rate_count = rates.count + loads.count > 0 ? rates.count + loads.count : 1, i, k;

    for (i = 0; i < rate_count; i++) {
        double rate = c->world.desc.rate;
        if (rates.count > 0) rate = rates.values[i];
        if (loads.count > 0) rate = loads.values[i] * c->world.capacity;
        for (k = 0; k < (balancers.count > 0 ? balancers.count : 1); k++) {
            setting *s = &c->settings[c->setting_count++];
            s->rate = rate;
            s->balancers = balancers.count > 0 ? (int32_t)balancers.values[k] : c->world.desc.balancers;
        }
    }
}

/* With requests of a trace: until the last of them has come, at the lowest rate. */
static void settle_duration(const contest *c)
{
    const rllb_env_trace *t = c->world.trace;
    int32_t i;

    if (!t || t->kind != RLLB_ENV_TRACE_REQUESTS || ex_option_given(&program, "duration")) return;
    duration_s = 1;
    for (i = 0; i < c->setting_count; i++) duration_s = fmax(duration_s, ceil(t->count / c->settings[i].rate));
}

static int check_size(const contest *c)
{
    double runs = (double)c->setting_count * c->policy_count * seeds;
    int32_t i;

    if (runs > CELLS_MOST) return ex_usage("seeds", "%.0f runs in all are more than %d", runs, CELLS_MOST);
    for (i = 0; i < c->setting_count; i++) {
        double flows = c->settings[i].rate * duration_s;
        if (flows <= FLOWS_MOST) continue;
        return ex_usage("duration", "%.3g flows in a run are more than %.0g", flows, FLOWS_MOST);
    }
    for (i = 0; i < c->setting_count; i += balancers.count > 0 ? balancers.count : 1) {
        ex_flows_warn_rate(&c->world, c->settings[i].rate);
    }
    return EX_OK;
}

static int make_cells(contest *c)
{
    int32_t s, p, k;

    c->cell_count = c->setting_count * c->policy_count * seeds;
    c->cells = calloc((size_t)c->cell_count, sizeof *c->cells);
    if (!c->cells) return ex_fail("not enough memory for %d runs", (int)c->cell_count);
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            for (k = 0; k < seeds; k++) {
                ex_cell *cell = runs_of(c, s, p) + k;
                ex_cell_default(cell, &c->world.desc, duration_s);
                cell->warmup = warmup;
                cell->wants_series = true;
                cell->desc.rate = c->settings[s].rate;
                cell->desc.balancers = c->settings[s].balancers;
                cell->desc.seed = seed + (uint64_t)k;
                if (!ex_balance_apply(&c->policies[p], &cell->desc)) return EX_USAGE;
                snprintf(cell->name, sizeof cell->name, "%s, rate %g, balancers %d, seed %llu", c->policies[p].name,
                         cell->desc.rate, (int)cell->desc.balancers, (unsigned long long)cell->desc.seed);
                if (k == 0 && rllb_env_flows_size(&cell->desc) == 0) {
                    return ex_usage("policy", "%s cannot balance this world of %d servers", c->policies[p].name,
                                    (int)cell->desc.count);
                }
            }
        }
    }
    return EX_OK;
}

/* ---- figures over seeds ------------------------------------------------------------------------------------ */

static ex_estimate figure_of(const contest *c, int32_t s, int32_t p, ex_flow_figure figure)
{
    return ex_cells_estimate(runs_of(c, s, p), seeds, figure);
}

/* Rejected, failed and timed out, as a share of all that came to an end. */
static double lost_share(const contest *c, int32_t s, int32_t p)
{
    double lost = figure_of(c, s, p, EX_FLOW_REJECTED).mean + figure_of(c, s, p, EX_FLOW_FAILED).mean +
                  figure_of(c, s, p, EX_FLOW_TIMED_OUT).mean;
    double all = lost + figure_of(c, s, p, EX_FLOW_COMPLETED).mean;

    return all > 0 ? lost / all : (double)NAN;
}

/* Policies from the least mean job completion time to the greatest. */
static void order_of(const contest *c, int32_t s, int32_t order[EX_BALANCES_MAX])
{
    double mean[EX_BALANCES_MAX];
    int32_t p, i;

    for (p = 0; p < c->policy_count; p++) {
        mean[p] = figure_of(c, s, p, EX_FLOW_MEAN).mean;
        if (!isfinite(mean[p])) mean[p] = HUGE_VAL; /* nothing came to an end */
        for (i = p; i > 0 && mean[order[i - 1]] > mean[p]; i--) order[i] = order[i - 1];
        order[i] = p;
    }
}

/* ---- tables ------------------------------------------------------------------------------------------------ */

static int decimals_of(double ms)
{
    ms = fabs(ms);
    return ms < 10 ? 2 : ms < 100 ? 1 : 0;
}

static void cell_ms(ex_table *t, double seconds)
{
    if (isfinite(seconds)) ex_table_cell(t, "%.*f", decimals_of(1000 * seconds), 1000 * seconds);
    else ex_table_cell(t, "-");
}

/* "12.3 ± 0.4", and with a sign for a difference. */
static void cell_interval(ex_table *t, ex_estimate e, bool difference)
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

/* "4", or "4x0.3": CPUs, and their speed if it is not 1. */
static const char *short_name(const ex_group *g, char text[32])
{
    if (fabs(g->speed - 1) < 1e-9) snprintf(text, 32, "%d", (int)g->cpus);
    else snprintf(text, 32, "%dx%.3g", (int)g->cpus, g->speed);
    return text;
}

static void table_heading(const contest *c, ex_table *t)
{
    static const char *const names[] = { "policy", "mean", "less the first", "P50", "P90", "P99", "P99.9",
                                         "Jain",   "residual", "its max", NULL };
    char text[32];
    int32_t i;

    for (i = 0; names[i]; i++) {
        if (i != 2) ex_table_cell(t, "%s", names[i]);
        else if (c->policy_count > 1) ex_table_cell(t, "less %s", c->policies[0].name);
    }
    for (i = 0; i < c->group_count; i++) ex_table_cell(t, "busy %s", short_name(&c->groups[i], text));
    ex_table_cell(t, "rejected %%");
    ex_table_row(t);
}

static void table_row(const contest *c, ex_table *t, int32_t s, int32_t p)
{
    static const ex_flow_figure times[] = { EX_FLOW_P50, EX_FLOW_P90, EX_FLOW_P99, EX_FLOW_P999 };
    int32_t i;

    ex_table_cell(t, "%s%s", c->policies[p].name, c->policies[p].oracle ? " *" : "");
    cell_interval(t, figure_of(c, s, p, EX_FLOW_MEAN), false);
    if (p == 0 && c->policy_count > 1) ex_table_cell(t, "0");
    else if (p > 0) cell_interval(t, ex_cells_differ(runs_of(c, s, p), runs_of(c, s, 0), seeds, EX_FLOW_MEAN), true);
    for (i = 0; i < EX_COUNT(times); i++) cell_ms(t, figure_of(c, s, p, times[i]).mean);
    ex_table_cell(t, "%.3f", figure_of(c, s, p, EX_FLOW_JAIN).mean);
    cell_ms(t, figure_of(c, s, p, EX_FLOW_RESIDUAL_MEAN).mean);
    cell_ms(t, figure_of(c, s, p, EX_FLOW_RESIDUAL_MAX).mean);
    for (i = 0; i < c->group_count; i++) ex_table_cell(t, "%.2f", ex_cells_busy(runs_of(c, s, p), seeds, i).mean);
    if (isfinite(lost_share(c, s, p))) ex_table_cell(t, "%.3f", 100 * lost_share(c, s, p));
    else ex_table_cell(t, "-");
    ex_table_row(t);
}

/* "moderate, 731.5 flows/s (load 0.87), 2 balancers" */
static void setting_text(const contest *c, int32_t s, char *text, size_t size)
{
    const setting *at = &c->settings[s];

    snprintf(text, size, "%s, %.6g flows/s (load %.2f), %d balancer%s", ex_preset_names[how.preset], at->rate,
             at->rate / c->world.capacity, (int)at->balancers, at->balancers == 1 ? "" : "s");
}

static void print_world(const contest *c)
{
    const rllb_env_flows_desc *d = &c->world.desc;
    int32_t i;

    printf("%s: ", ex_preset_names[how.preset]);
    for (i = 0; i < c->group_count; i++) {
        printf("%s%d of %s", i ? ", " : "", (int)c->groups[i].servers, c->groups[i].name);
    }
    printf("; they can do %.1f flows/s of %g ms\n", c->world.capacity, 1000 * d->work_s);
    if (d->trace) {
        printf("arrivals: %s, %d %s\n", how.trace_path, (int)d->trace->count,
               d->trace->kind == RLLB_ENV_TRACE_AMOUNTS
                   ? "rates, scaled to a mean of the rate below"
                   : "requests, the same for every seed but for the balancer they\n"
                     "come to; times and work are scaled to the means asked for");
    }
    if (d->event_count > 0) printf("events: %d from %s\n", (int)d->event_count, how.events_path);
    printf("seeds from %llu on, %d run%s of %g s for each policy, the first %g %% left out%s\n",
           (unsigned long long)seed, (int)seeds, seeds == 1 ? "" : "s", duration_s, 100 * warmup,
           how.unguarded ? "; no guard rails" : "");
}

static void print_results(const contest *c)
{
    int32_t order[EX_BALANCES_MAX], s, p;
    bool oracles = false;
    char text[160];

    print_world(c);
    for (s = 0; s < c->setting_count; s++) {
        ex_table table = { 0 };
        setting_text(c, s, text, sizeof text);
        printf("\n%s\n", text);
        order_of(c, s, order);
        table_heading(c, &table);
        for (p = 0; p < c->policy_count; p++) table_row(c, &table, s, order[p]);
        ex_table_print(&table, stdout);
        ex_table_free(&table);
    }
    for (p = 0; p < c->policy_count; p++) oracles = oracles || c->policies[p].oracle;
    printf("\nmean to P99.9: job completion time in ms%s\n"
           "Jain: index of the servers' residual times, 1 is even; residual: time in ms that a server takes for what\n"
           "it holds; busy N, or NxS: flows in service at a server with N CPUs, of speed S; rejected: failed ones\n"
           "included%s\n",
           seeds > 1 ? ", with 95 % intervals over seeds; differences are paired by seed" : "",
           oracles ? "; *: sees what no balancer sees" : "");
    printf("in %s: results.json simulate.csv series.csv%s\n", out, no_pictures ? "" : " and pictures");
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static void json_list(ex_json *j, const char *key, const ex_list *list)
{
    int32_t i;

    ex_json_row_array(j, key);
    for (i = 0; i < list->count; i++) ex_json_double(j, NULL, list->values[i]);
    ex_json_end(j);
}

static void json_settings(const contest *c, ex_json *j)
{
    int32_t i;

    ex_json_object(j, "settings");
    ex_json_string(j, "preset", ex_preset_names[how.preset]);
    ex_json_int(j, "servers", c->world.desc.count);
    ex_json_row_array(j, "policies");
    for (i = 0; i < c->policy_count; i++) ex_json_string(j, NULL, c->policies[i].name);
    ex_json_end(j);
    json_list(j, "rate", &rates);
    json_list(j, "load", &loads);
    json_list(j, "balancers", &balancers);
    ex_json_string(j, "trace", how.trace_path);
    ex_json_string(j, "events", how.events_path);
    ex_json_double(j, "round", how.trace_path && c->world.trace->kind == RLLB_ENV_TRACE_AMOUNTS ? how.round_s : 0);
    ex_json_string(j, "weights", ex_weights_names[how.weights]);
    ex_json_string(j, "guards", ex_switch_names[guards]);
    ex_json_int(j, "seeds", seeds);
    ex_json_uint(j, "seed", seed);
    ex_json_double(j, "duration", duration_s);
    ex_json_double(j, "warmup", warmup);
    ex_json_end(j);
}

static void json_world(const contest *c, ex_json *j)
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

static void json_run(const contest *c, ex_json *j, int32_t p, const ex_cell *cell)
{
    static const ex_flow_figure shown[] = { EX_FLOW_MEAN, EX_FLOW_P50, EX_FLOW_P90, EX_FLOW_P99, EX_FLOW_P999,
                                            EX_FLOW_JAIN, EX_FLOW_RESIDUAL_MEAN, EX_FLOW_RESIDUAL_MAX };
    int32_t i;

    ex_json_row(j, NULL);
    ex_json_string(j, "preset", ex_preset_names[how.preset]);
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

static void json_summary(const contest *c, ex_json *j, int32_t s, int32_t p)
{
    int32_t i;

    ex_json_object(j, NULL);
    ex_json_string(j, "policy", c->policies[p].name);
    ex_json_double(j, "rate", c->settings[s].rate);
    ex_json_double(j, "load", c->settings[s].rate / c->world.capacity);
    ex_json_int(j, "balancers", c->settings[s].balancers);
    for (i = 0; i < EX_FLOW_FIGURES; i++) ex_json_estimate(j, ex_flow_keys[i], figure_of(c, s, p, (ex_flow_figure)i));
    ex_json_array(j, "group_busy");
    for (i = 0; i < c->group_count; i++) ex_json_estimate(j, NULL, ex_cells_busy(runs_of(c, s, p), seeds, i));
    ex_json_end(j);
    ex_json_estimate(j, "jct_mean_less_first",
                     ex_cells_differ(runs_of(c, s, p), runs_of(c, s, 0), seeds, EX_FLOW_MEAN));
    ex_json_end(j);
}

static bool write_results(const contest *c)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t s, p, k;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", program.name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    json_settings(c, &j);
    json_world(c, &j);
    ex_json_array(&j, "results");
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            for (k = 0; k < seeds; k++) json_run(c, &j, p, runs_of(c, s, p) + k);
        }
    }
    ex_json_end(&j);
    ex_json_array(&j, "summary"); /* means over the seeds, with intervals where there are several */
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) json_summary(c, &j, s, p);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
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

static bool write_csv(const contest *c)
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
        snprintf(name, sizeof name, "busy_%s", short_name(&c->groups[i], shorter));
        csv_estimate_names(&csv, name);
    }
    ex_csv_row(&csv);
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            ex_csv_string(&csv, ex_preset_names[how.preset]);
            ex_csv_string(&csv, c->policies[p].name);
            ex_csv_double(&csv, c->settings[s].rate);
            ex_csv_int(&csv, c->settings[s].balancers);
            for (i = 0; i < EX_FLOW_FIGURES; i++) csv_estimate(&csv, figure_of(c, s, p, (ex_flow_figure)i));
            for (i = 0; i < c->group_count; i++) csv_estimate(&csv, ex_cells_busy(runs_of(c, s, p), seeds, i));
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "simulate.csv").text);
    ex_text_free(&text);
    return ok;
}

/* A bin of a column, mean over the seeds that have it. */
static double series_at(const contest *c, int32_t s, int32_t p, int32_t which, int32_t bin)
{
    const ex_cell *cell = runs_of(c, s, p);
    double sum = 0;
    int32_t k, there = 0;

    for (k = 0; k < seeds; k++) {
        double value = cell[k].series[(size_t)which * (size_t)cell[k].bins + (size_t)bin];
        if (!isfinite(value)) continue;
        sum += value;
        there++;
    }
    return there > 0 ? sum / there : (double)NAN;
}

static bool write_series(const contest *c)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t s, p, b, i;
    char name[32];
    bool ok;

    ex_text_printf(&text, "policy,rate,balancers,time_s,jct_mean,completed_per_s,lost_per_s,jain,residual_mean,"
                          "residual_max");
    for (i = 0; i < c->group_count; i++) ex_text_printf(&text, ",busy_%s", short_name(&c->groups[i], name));
    ex_text_printf(&text, "\n");
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            const ex_cell *cell = runs_of(c, s, p);
            for (b = 0; b < cell->bins; b++) {
                ex_csv_string(&csv, c->policies[p].name);
                ex_csv_double(&csv, c->settings[s].rate);
                ex_csv_int(&csv, c->settings[s].balancers);
                ex_csv_double(&csv, (b + 1) * cell->bin_s);
                for (i = 0; i < EX_COLUMN_BUSY + c->group_count; i++) ex_csv_double(&csv, series_at(c, s, p, i, b));
                ex_csv_row(&csv);
            }
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "series.csv").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* "boxes.png", or with several settings "boxes_731.5_m2.png". */
static ex_path picture_path(const contest *c, int32_t s, const char *what)
{
    char name[96];

    if (c->setting_count == 1) snprintf(name, sizeof name, "%s.png", what);
    else snprintf(name, sizeof name, "%s_%.6g_m%d.png", what, c->settings[s].rate, (int)c->settings[s].balancers);
    return ex_path_join(out, name);
}

/* Quantiles of all seeds together stand for the durations. Powers of ten have no end for short ones. */
static bool draw_boxes(const contest *c, int32_t s)
{
    enum { FIRST = 5, KEPT = EX_FLOW_QUANTILES - 1 - FIRST }; /* from 2.5 % to 99.5 % */
    static const double *values[EX_BALANCES_MAX];
    static int32_t counts[EX_BALANCES_MAX];
    static const char *names[EX_BALANCES_MAX];
    static ex_color colors[EX_BALANCES_MAX];
    double *all = malloc((size_t)c->policy_count * (size_t)seeds * KEPT * sizeof *all), *at = all;
    int32_t order[EX_BALANCES_MAX], i, k, q;
    ex_box_chart chart;
    char subtitle[240];
    bool ok;

    if (!all) return ex_fail("not enough memory for a picture") == EX_OK;
    memset(&chart, 0, sizeof chart);
    order_of(c, s, order);
    for (i = 0; i < c->policy_count; i++) {
        const ex_cell *cell = runs_of(c, s, order[i]);
        values[i] = at;
        counts[i] = seeds * KEPT;
        names[i] = c->policies[order[i]].name;
        colors[i] = c->policies[order[i]].oracle ? EX_RGB(0x7B8794u) : ex_palette(0);
        for (k = 0; k < seeds; k++) {
            for (q = FIRST; q < FIRST + KEPT; q++) *at++ = 1000 * (double)cell[k].quantile[q];
        }
    }
    setting_text(c, s, subtitle, sizeof subtitle);
    chart.title = "Job completion times";
    chart.subtitle = subtitle;
    chart.note = "From the least mean to the greatest. The slowest 0.5 % and the fastest 2.5 % are not shown. Box: "
                 "quartiles and median, whiskers: within 1.5 box heights, dot: mean of what is shown. Grey: sees what "
                 "no balancer sees.";
    chart.y.label = "job completion time, ms";
    chart.y.logarithmic = true;
    chart.categories = names;
    chart.values = values;
    chart.counts = counts;
    chart.category_count = c->policy_count;
    chart.colors = colors;
    ok = ex_box_chart_write(&chart, 0, 0, picture_path(c, s, "boxes").text);
    free(all);
    return ok;
}

/* As many policies as colours can tell apart: all, or the first and those with the least means. */
static int32_t choose_lines(const contest *c, int32_t s, int32_t lines[LINES_MOST])
{
    int32_t order[EX_BALANCES_MAX], count = 0, i;

    if (c->policy_count <= LINES_MOST) { /* then each has its colour in all pictures */
        for (i = 0; i < c->policy_count; i++) lines[i] = i;
        return c->policy_count;
    }
    order_of(c, s, order);
    lines[count++] = 0;
    for (i = 0; i < c->policy_count && count < LINES_MOST; i++) {
        if (order[i] != 0) lines[count++] = order[i];
    }
    return count;
}

static void lines_note(const contest *c, char *text, size_t size)
{
    text[0] = '\0';
    if (c->policy_count > LINES_MOST) {
        snprintf(text, size, " Of %d policies the first and the seven others with the least means.",
                 (int)c->policy_count);
    }
}

/* Powers of ten where values lie far apart; of few decades whole ones, for the sake of round ticks. */
static void settle_scale(ex_axis *y, double least, double most, double apart)
{
    y->from_zero = !(most > apart * least);
    y->logarithmic = !y->from_zero;
    if (!y->logarithmic || most > 100 * least) return;
    y->low = pow(10, floor(log10(least)));
    y->high = pow(10, ceil(log10(most)));
}

enum { PANELS = 4 };

typedef struct strip { /* a panel of the time series */
    ex_series series[LINES_MOST];
    ex_line_chart chart;
} strip;

static bool anything_lost(const contest *c, int32_t s, const int32_t *lines, int32_t count)
{
    int32_t i, b;

    for (i = 0; i < count; i++) {
        for (b = 0; b < runs_of(c, s, lines[i])->bins; b++) {
            if (series_at(c, s, lines[i], EX_COLUMN_REJECTED, b) > 0) return true;
        }
    }
    return false;
}

/* So many bins make a point of a line: more points would be noise. */
static int32_t bins_per_point(const contest *c, int32_t s)
{
    return (runs_of(c, s, 0)->bins + POINTS_MOST - 1) / POINTS_MOST;
}

/* The mean of a column over the bins of a point; that of durations by how many there were. */
static double point_at(const contest *c, int32_t s, int32_t p, int32_t which, int32_t point)
{
    int32_t per = bins_per_point(c, s), bins = runs_of(c, s, p)->bins, b;
    double sum = 0, weights = 0;

    for (b = point * per; b < (point + 1) * per && b < bins; b++) {
        double value = series_at(c, s, p, which, b);
        double weight = which == EX_COLUMN_MEAN ? series_at(c, s, p, EX_COLUMN_COMPLETED, b) : 1;
        if (!isfinite(value)) continue;
        sum += weight * value;
        weights += weight;
    }
    return weights > 0 ? sum / weights : (double)NAN;
}

/* One column of all lines; y is the room for their values. Answers the room that is left. */
static double *fill_strip(const contest *c, int32_t s, const int32_t *lines, int32_t count, int32_t which, strip *to,
                          const double *x, double *y)
{
    double least = HUGE_VAL, most = 0, unit = which == EX_COLUMN_MEAN || which == EX_COLUMN_RESIDUAL_MEAN ? 1000 : 1;
    int32_t i, k, per = bins_per_point(c, s), points = (runs_of(c, s, 0)->bins + per - 1) / per;

    for (i = 0; i < count; i++) {
        to->series[i].name = c->policies[lines[i]].name;
        to->series[i].x = x;
        to->series[i].y = y;
        to->series[i].count = points;
        to->series[i].width = 1.8;
        to->series[i].color = ex_palette(i);
        for (k = 0; k < points; k++) {
            *y = unit * point_at(c, s, lines[i], which, k);
            if (*y > 0 && *y < least) least = *y;
            if (*y > most) most = *y;
            y++;
        }
    }
    to->chart.series = to->series;
    to->chart.series_count = count;
    to->chart.x.label = "time, s";
    to->chart.y.from_zero = true;
    if (which == EX_COLUMN_MEAN || which == EX_COLUMN_RESIDUAL_MEAN) settle_scale(&to->chart.y, least, most, 30);
    return y;
}

static bool draw_series(const contest *c, int32_t s)
{
    static strip strips[PANELS];
    int32_t lines[LINES_MOST], count = choose_lines(c, s, lines), i;
    double point_s = runs_of(c, s, 0)->bin_s * bins_per_point(c, s);
    bool lost = anything_lost(c, s, lines, count);
    const int32_t which[PANELS] = { EX_COLUMN_MEAN, EX_COLUMN_RESIDUAL_MEAN, EX_COLUMN_JAIN,
                                    lost ? EX_COLUMN_REJECTED : EX_COLUMN_COMPLETED };
    const char *const titles[PANELS] = { "Job completion time, ms", "Residual time of a server, ms",
                                         "Jain index of residual times",
                                         lost ? "Rejected, failed, timed out per second" : "Completed per second" };
    double *x = malloc((size_t)POINTS_MOST * (1 + PANELS * LINES_MOST) * sizeof *x), *y = x + POINTS_MOST;
    ex_panel panels[PANELS];
    ex_figure figure;
    char subtitle[240], note[320], more[120];
    bool ok;

    if (!x) return ex_fail("not enough memory for a picture") == EX_OK;
    memset(strips, 0, sizeof strips);
    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; i < POINTS_MOST; i++) x[i] = (i + 0.5) * point_s;
    for (i = 0; i < PANELS; i++) {
        y = fill_strip(c, s, lines, count, which[i], &strips[i], x, y);
        strips[i].chart.title = titles[i];
        panels[i].line = &strips[i].chart;
    }
    setting_text(c, s, subtitle, sizeof subtitle);
    lines_note(c, more, sizeof more);
    snprintf(note, sizeof note, "Means of %g s%s. The first %g s are not in the tables.%s", point_s,
             seeds > 1 ? " over all seeds" : "", warmup * duration_s, more);
    figure.title = "Over time";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = PANELS;
    figure.columns = 2;
    ok = ex_figure_write(&figure, 1440, 1000, picture_path(c, s, "series").text);
    free(x);
    return ok;
}

/* Mean job completion time against the rate, a panel for each number of balancers; or against that number. */
typedef struct sweep {
    double x[EX_LIST_MAX], mean[LINES_MOST][EX_LIST_MAX], low[LINES_MOST][EX_LIST_MAX], high[LINES_MOST][EX_LIST_MAX];
    ex_series series[LINES_MOST];
    ex_line_chart chart;
    char title[64];
} sweep;

/* first and every: which settings lie on the x axis. */
static void fill_sweep(const contest *c, sweep *to, int32_t first, int32_t every, int32_t points, bool over_rate)
{
    int32_t lines[LINES_MOST], count = choose_lines(c, c->setting_count - 1, lines), i, k;
    double least = HUGE_VAL, most = 0;

    for (i = 0; i < points; i++) {
        const setting *s = &c->settings[first + i * every];
        to->x[i] = over_rate ? s->rate : s->balancers;
    }
    for (k = 0; k < count; k++) {
        for (i = 0; i < points; i++) {
            ex_estimate e = figure_of(c, first + i * every, lines[k], EX_FLOW_MEAN);
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
    settle_scale(&to->chart.y, least, most, 8);
}

static bool draw_sweep(const contest *c)
{
    static sweep panels_of[EX_LIST_MAX];
    int32_t many = balancers.count > 0 ? balancers.count : 1, rate_count = c->setting_count / many, i;
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
    used = snprintf(subtitle, sizeof subtitle, "%s: %d servers that can do %.1f flows/s", ex_preset_names[how.preset],
                    (int)c->world.desc.count, c->world.capacity);
    if (panel_count == 1) snprintf(subtitle + used, sizeof subtitle - (size_t)used, "; %s", panels_of[0].title);
    lines_note(c, more, sizeof more);
    snprintf(note, sizeof note, "Shaded: 95 %% interval over %d seeds.%s", (int)seeds, more);
    figure.title = "Mean job completion time";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = panel_count;
    return ex_figure_write(&figure, panel_count > 1 ? 1440 : 1200, panel_count > 2 ? 1000 : 720,
                           ex_path_join(out, "sweep.png").text);
}

static bool draw(const contest *c)
{
    int32_t s;

    for (s = 0; s < c->setting_count && !no_pictures; s++) {
        if (!draw_boxes(c, s) || !draw_series(c, s)) return false;
    }
    return c->setting_count == 1 || no_pictures || draw_sweep(c);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int hold(contest *c)
{
    ex_lock lock;
    int status;

    if (!ex_folder_lock(out, &lock)) return EX_FAILED;
    status = ex_cells_run(c->cells, c->cell_count, jobs, "simulating", quiet);
    if (status == EX_GO_ON) {
        status = write_results(c) && write_csv(c) && write_series(c) && draw(c) ? EX_OK : EX_FAILED;
        if (status == EX_OK && !quiet) print_results(c);
    }
    ex_folder_unlock(&lock);
    return status;
}

int main(int argc, char **argv)
{
    static contest c;
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    status = check_options();
    if (status == EX_OK) status = ex_balances_parse("policy", policies_text, c.policies, &c.policy_count);
    if (status == EX_OK) status = open_world(&c);
    if (status == EX_OK) {
        make_settings(&c);
        settle_duration(&c);
        status = check_size(&c);
    }
    if (status == EX_OK) status = make_cells(&c);
    if (status == EX_OK) status = hold(&c);
    ex_cells_free(c.cells, c.cell_count);
    ex_flows_close(&c.world);
    return status;
}
