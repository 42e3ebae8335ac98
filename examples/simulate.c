/* simulate.c - balancing policies in the flow-level world: many balancers over many servers, request by request

   Shows what a policy does to those who wait: how long requests take, how even the servers' work is, how many requests
   are turned away. Policies meet the same arrivals, seed by seed, so that their difference is known long before the
   means are. Arrivals are random or come from a trace; servers slow down, fail, leave, come back by a list of events.

   Build:   make build/simulate
   Run:     build/simulate --preset moderate --policy sed,lsq,wcmp,"draw(3,1.2,0)" --load 0.6,0.8,0.9 --out out/simulate
   Prints:  a table for each rate and number of balancers
   Writes:  results.json (a row for every run), simulate.csv, series.csv, and for each rate and number of balancers
            boxes.png and series.png; for several of them sweep.png */

#include "contest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---------------------------------------------------------------------------------------------- */

static const char *policies_text = "sed,lsq,p2c_weighted,wcmp,sed_oracle";
static int32_t guards;
static ex_program program;

static ex_contest race = {
    .program = &program,
    .how = { .preset = RLLB_ENV_PRESET_MODERATE },
    .out = "out/simulate",
    .seeds = 5,
    .seed = 1,
    .duration_s = 120,
    .warmup = 0.1,
};

static ex_option options[] = {
    EX_HEADING("The world"),
    EX_CHOICE("preset", &race.how.preset, ex_preset_names, "servers, work and arrivals to begin with, see rllb_env.h"),
    EX_INT("servers", &race.how.servers, 1, 4096, "N", "that many, those of the preset over and over"),
    EX_LIST("rate", &race.rates, 1e-6, 1e9, "R,R,...", "flows per second; default: that of the preset"),
    EX_LIST("load", &race.loads, 1e-6, 100, "L,L,...", "the same as a share of what the servers can do"),
    EX_INT_LIST("balancers", &race.balancers, 1, 1024, "M,M,...",
                "how many share the flows; default: as in the preset"),
    EX_STRING("trace", &race.how.trace_path, "FILE",
              "arrivals as recorded: requests with their work, or amounts over time"),
    EX_DOUBLE("round", &race.how.round_s, 1e-3, 1e9, "S", "seconds that a trace of amounts takes; default: --duration"),
    EX_STRING("events", &race.how.events_path, "FILE", "table of time_s,event,server,value: what happens to servers"),
    EX_HEADING("Policies"),
    EX_STRING("policy", &policies_text, "P,P,...", "by name, or all; draw(d,a,gamma), equalise(stretch) and so on"),
    EX_CHOICE("weights", &race.how.weights, ex_weights_names, "what balancers are told of their servers"),
    EX_CHOICE("guards", &guards, ex_switch_names, "the balancer's guard rails; off: plain rules"),
    EX_HEADING("Runs"),
    EX_INT("seeds", &race.seeds, 1, EX_SEEDS_MOST, "N", "runs of every setting"),
    EX_SEED("seed", &race.seed, "the first of the seeds"),
    EX_DOUBLE("duration", &race.duration_s, 1, 1e7, "S",
              "seconds of a run; default for a trace of requests: its length"),
    EX_DOUBLE("warmup", &race.warmup, 0, 0.95, "X", "share of the run that is left out at its start"),
    EX_INT("jobs", &race.jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),
    EX_STRING("out", &race.out, "DIR", "folder for the results"),
    EX_FLAG("no-pictures", &race.no_pictures, "numbers only"),
    EX_FLAG("quiet", &race.quiet, "no progress, no tables"),
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

/* ---- tables ------------------------------------------------------------------------------------------------ */

static void table_heading(const ex_contest *c, ex_table *t)
{
    static const char *const names[] = { "policy", "mean", "less the first", "P50", "P90", "P99", "P99.9",
                                         "Jain",   "residual", "its max", NULL };
    char text[32];
    int32_t i;

    for (i = 0; names[i]; i++) {
        if (i != 2) ex_table_cell(t, "%s", names[i]);
        else if (c->policy_count > 1) ex_table_cell(t, "less %s", c->policies[0].name);
    }
    for (i = 0; i < c->group_count; i++) ex_table_cell(t, "busy %s", ex_group_short(&c->groups[i], text));
    ex_table_cell(t, "rejected %%");
    ex_table_row(t);
}

static void table_row(const ex_contest *c, ex_table *t, int32_t s, int32_t p)
{
    static const ex_flow_figure times[] = { EX_FLOW_P50, EX_FLOW_P90, EX_FLOW_P99, EX_FLOW_P999 };
    const ex_cell *runs = ex_contest_runs(c, s, p);
    int32_t i;

    ex_table_cell(t, "%s%s", c->policies[p].name, c->policies[p].oracle ? " *" : "");
    ex_table_interval(t, ex_contest_figure(c, s, p, EX_FLOW_MEAN), false);
    if (p == 0 && c->policy_count > 1) ex_table_cell(t, "0");
    else if (p > 0) ex_table_interval(t, ex_cells_differ(runs, ex_contest_runs(c, s, 0), c->seeds, EX_FLOW_MEAN), true);
    for (i = 0; i < EX_COUNT(times); i++) ex_table_ms(t, ex_contest_figure(c, s, p, times[i]).mean);
    ex_table_cell(t, "%.3f", ex_contest_figure(c, s, p, EX_FLOW_JAIN).mean);
    ex_table_ms(t, ex_contest_figure(c, s, p, EX_FLOW_RESIDUAL_MEAN).mean);
    ex_table_ms(t, ex_contest_figure(c, s, p, EX_FLOW_RESIDUAL_MAX).mean);
    for (i = 0; i < c->group_count; i++) ex_table_cell(t, "%.2f", ex_cells_busy(runs, c->seeds, i).mean);
    if (isfinite(ex_contest_lost(c, s, p))) ex_table_cell(t, "%.3f", 100 * ex_contest_lost(c, s, p));
    else ex_table_cell(t, "-");
    ex_table_row(t);
}

static void print_results(const ex_contest *c)
{
    int32_t order[EX_BALANCES_MAX], s, p;
    bool oracles = false;
    char text[160];

    ex_contest_print_world(c);
    for (s = 0; s < c->setting_count; s++) {
        ex_table table = { 0 };
        ex_contest_text(c, s, text, sizeof text);
        printf("\n%s\n", text);
        ex_contest_order(c, s, order);
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
           c->seeds > 1 ? ", with 95 % intervals over seeds; differences are paired by seed" : "",
           oracles ? "; *: sees what no balancer sees" : "");
    printf("in %s: results.json simulate.csv series.csv%s\n", c->out, c->no_pictures ? "" : " and pictures");
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_results(const ex_contest *c)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", program.name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_contest_json_settings(c, &j);
    ex_json_end(&j);
    ex_contest_json_world(c, &j);
    ex_contest_json_results(c, &j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(c->out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

static bool draw_boxes(const ex_contest *c, int32_t s)
{
    static ex_boxes boxes;
    int32_t order[EX_BALANCES_MAX];
    char subtitle[240], note[400];
    bool ok, learned = false;
    int32_t i;

    for (i = 0; i < c->policy_count; i++) learned = learned || c->policies[i].model;
    snprintf(note, sizeof note, "%s%s", ex_boxes_note, learned ? " Orange: learned." : "");
    ex_contest_order(c, s, order);
    if (!ex_contest_boxes(c, s, order, c->policy_count, &boxes)) return false;
    ex_contest_text(c, s, subtitle, sizeof subtitle);
    boxes.chart.title = "Job completion times";
    boxes.chart.subtitle = subtitle;
    boxes.chart.note = note;
    ok = ex_box_chart_write(&boxes.chart, 0, 0, ex_contest_path(c, s, "boxes").text);
    free(boxes.all);
    return ok;
}

enum { PANELS = 4 };

typedef struct strip { /* a panel of the time series */
    ex_series series[EX_LINES_MOST];
    ex_line_chart chart;
} strip;

static bool anything_lost(const ex_contest *c, int32_t s, const int32_t *lines, int32_t count)
{
    int32_t i, b;

    for (i = 0; i < count; i++) {
        for (b = 0; b < ex_contest_runs(c, s, lines[i])->bins; b++) {
            if (ex_contest_series(c, s, lines[i], EX_COLUMN_REJECTED, b) > 0) return true;
        }
    }
    return false;
}

/* One column of all lines; y is the room for their values. Answers the room that is left. */
static double *fill_strip(const ex_contest *c, int32_t s, const int32_t *lines, int32_t count, int32_t which, strip *to,
                          const double *x, double *y)
{
    double least = HUGE_VAL, most = 0, unit = which == EX_COLUMN_MEAN || which == EX_COLUMN_RESIDUAL_MEAN ? 1000 : 1;
    double seconds;
    int32_t i, k, points = ex_contest_points(c, s, &seconds);

    for (i = 0; i < count; i++) {
        to->series[i].name = c->policies[lines[i]].name;
        to->series[i].x = x;
        to->series[i].y = y;
        to->series[i].count = points;
        to->series[i].width = 1.8;
        to->series[i].color = ex_palette(i);
        for (k = 0; k < points; k++) {
            *y = unit * ex_contest_point(c, s, lines[i], which, k);
            if (*y > 0 && *y < least) least = *y;
            if (*y > most) most = *y;
            y++;
        }
    }
    to->chart.series = to->series;
    to->chart.series_count = count;
    to->chart.x.label = "time, s";
    to->chart.y.from_zero = true;
    if (which == EX_COLUMN_MEAN || which == EX_COLUMN_RESIDUAL_MEAN) ex_axis_settle(&to->chart.y, least, most, 30);
    return y;
}

static bool draw_series(const ex_contest *c, int32_t s)
{
    static strip strips[PANELS];
    int32_t lines[EX_LINES_MOST], count = ex_contest_lines(c, s, lines), i;
    double point_s = 0;
    bool lost = anything_lost(c, s, lines, count);
    const int32_t which[PANELS] = { EX_COLUMN_MEAN, EX_COLUMN_RESIDUAL_MEAN, EX_COLUMN_JAIN,
                                    lost ? EX_COLUMN_REJECTED : EX_COLUMN_COMPLETED };
    const char *const titles[PANELS] = { "Job completion time, ms", "Residual time of a server, ms",
                                         "Jain index of residual times",
                                         lost ? "Rejected, failed, timed out per second" : "Completed per second" };
    double *x = malloc((size_t)EX_POINTS_MOST * (1 + PANELS * EX_LINES_MOST) * sizeof *x), *y = x + EX_POINTS_MOST;
    ex_panel panels[PANELS];
    ex_figure figure;
    char subtitle[240], note[320], more[120];
    bool ok;

    if (!x) return ex_fail("not enough memory for a picture") == EX_OK;
    ex_contest_points(c, s, &point_s);
    memset(strips, 0, sizeof strips);
    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; i < EX_POINTS_MOST; i++) x[i] = (i + 0.5) * point_s;
    for (i = 0; i < PANELS; i++) {
        y = fill_strip(c, s, lines, count, which[i], &strips[i], x, y);
        strips[i].chart.title = titles[i];
        panels[i].line = &strips[i].chart;
    }
    ex_contest_text(c, s, subtitle, sizeof subtitle);
    ex_contest_lines_note(c, more, sizeof more);
    snprintf(note, sizeof note, "Means of %g s%s. The first %g s are not in the tables.%s", point_s,
             c->seeds > 1 ? " over all seeds" : "", c->warmup * c->duration_s, more);
    figure.title = "Over time";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = PANELS;
    figure.columns = 2;
    ok = ex_figure_write(&figure, 1440, 1000, ex_contest_path(c, s, "series").text);
    free(x);
    return ok;
}

static bool draw(const ex_contest *c)
{
    int32_t s;

    for (s = 0; s < c->setting_count && !c->no_pictures; s++) {
        if (!draw_boxes(c, s) || !draw_series(c, s)) return false;
    }
    return c->setting_count == 1 || c->no_pictures || ex_contest_sweep(c);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int hold(ex_contest *c)
{
    ex_lock lock;
    int status;

    if (!ex_folder_lock(c->out, &lock)) return EX_FAILED;
    status = ex_contest_run(c, "simulating");
    if (status == EX_GO_ON) {
        status = write_results(c) && ex_contest_write_csv(c, "simulate.csv") && ex_contest_write_series(c) && draw(c)
                     ? EX_OK
                     : EX_FAILED;
        if (status == EX_OK && !c->quiet) print_results(c);
    }
    ex_folder_unlock(&lock);
    return status;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    race.how.unguarded = guards == 1;
    if (race.rates.count > 0 && race.loads.count > 0) {
        return ex_usage("load", "has no use with --rate: one says the other");
    }
    status = ex_balances_parse("policy", policies_text, race.policies, &race.policy_count);
    if (status == EX_OK) status = ex_contest_open(&race);
    if (status == EX_OK) status = ex_contest_make(&race);
    if (status == EX_OK) status = hold(&race);
    ex_contest_close(&race);
    return status;
}
