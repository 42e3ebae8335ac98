/* contest.h - policies against each other in the flow-level world: what simulate and marl_eval share

   A contest is every policy under every setting (a rate and a number of balancers) with every seed. The program has its
   options point into it, and goes

       static ex_contest c = { .how = { .preset = RLLB_ENV_PRESET_MODERATE }, .seeds = 5, .seed = 1, .duration_s = 120,
                               .warmup = 0.1, .out = "out/simulate", .program = &program };
       status = ex_balances_parse("policy", text, c.policies, &c.policy_count);
       status = ex_contest_open(&c);                            the world
       status = ex_contest_make(&c);                            settings and cells; is it too much?
       status = ex_contest_run(&c, "simulating");               EX_GO_ON, or leave with it
       ... tables, files, pictures ...
       ex_contest_close(&c); */

#ifndef EX_CONTEST_H
#define EX_CONTEST_H

#include "flows.h"

enum { EX_SEEDS_MOST = 4096, EX_LINES_MOST = 8 }; /* seeds of a setting; lines that colours can tell apart */

typedef struct ex_setting {
    double rate;
    int32_t balancers;
} ex_setting;

typedef struct ex_contest {
    /* As it was asked for. */
    const ex_program *program;
    const char *out;
    ex_flows_how how;
    ex_list rates, loads, balancers; /* none: those of the preset */
    int32_t seeds, jobs;
    uint64_t seed;
    double duration_s, warmup;
    bool quiet, no_pictures, wants_weights;
    ex_balance policies[EX_BALANCES_MAX];
    int32_t policy_count;
    /* What was made of it. */
    ex_flows world;
    ex_setting settings[EX_LIST_MAX * EX_LIST_MAX];
    ex_group groups[EX_GROUPS_MAX];
    int32_t setting_count, group_count, cell_count;
    ex_cell *cells; /* [settings][policies][seeds] */
} ex_contest;

/* EX_OK, or the status to leave with: said. */
int ex_contest_open(ex_contest *c);
int ex_contest_make(ex_contest *c);
int ex_contest_run(ex_contest *c, const char *what);
void ex_contest_close(ex_contest *c);

/* The runs of a policy under a setting, one for each seed; and figures of them. */
ex_cell *ex_contest_runs(const ex_contest *c, int32_t s, int32_t p);
ex_estimate ex_contest_figure(const ex_contest *c, int32_t s, int32_t p, ex_flow_figure figure);
/* Rejected, failed and timed out, as a share of all that came to an end. */
double ex_contest_lost(const ex_contest *c, int32_t s, int32_t p);
/* Policies from the least mean job completion time to the greatest. */
void ex_contest_order(const ex_contest *c, int32_t s, int32_t order[EX_BALANCES_MAX]);
/* "moderate, 731.5 flows/s (load 0.87), 2 balancers" */
void ex_contest_text(const ex_contest *c, int32_t s, char *text, size_t size);

/* ---- tables ------------------------------------------------------------------------------------------------ */

/* Milliseconds; "12.3 ± 0.4", and with a sign for a difference; "-" for what is not there. */
void ex_table_ms(ex_table *t, double seconds);
void ex_table_interval(ex_table *t, ex_estimate e, bool difference);
/* "4", or "4x0.3": CPUs, and their speed if it is not 1. */
const char *ex_group_short(const ex_group *g, char text[32]);
/* What world it is, how many runs; lines on stdout. */
void ex_contest_print_world(const ex_contest *c);

/* ---- files ------------------------------------------------------------------------------------------------- */

/* An object "settings", left open for more; "capacity" and "groups"; "results", a row a run, and "summary". */
void ex_contest_json_settings(const ex_contest *c, ex_json *j);
void ex_contest_json_world(const ex_contest *c, ex_json *j);
void ex_contest_json_results(const ex_contest *c, ex_json *j);
/* Means and intervals; the time series. Into c->out. */
bool ex_contest_write_csv(const ex_contest *c, const char *file);
bool ex_contest_write_series(const ex_contest *c);

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* "boxes.png", or with several settings "boxes_731.5_m2.png", in c->out. */
ex_path ex_contest_path(const ex_contest *c, int32_t s, const char *what);
/* A box for each of those policies; what it takes lives in *boxes, to be freed. False: no memory, said. */
typedef struct ex_boxes {
    ex_box_chart chart;
    const double *values[EX_BALANCES_MAX];
    int32_t counts[EX_BALANCES_MAX];
    const char *names[EX_BALANCES_MAX];
    ex_color colors[EX_BALANCES_MAX];
    double *all;
} ex_boxes;
bool ex_contest_boxes(const ex_contest *c, int32_t s, const int32_t *policies, int32_t count, ex_boxes *boxes);
/* The sentence below them. */
extern const char ex_boxes_note[];

/* A bin of a column, mean over the seeds that have it. */
double ex_contest_series(const ex_contest *c, int32_t s, int32_t p, int32_t column, int32_t bin);
/* The same for lines in pictures: several bins are a point, since more than a hundred would be noise. */
enum { EX_POINTS_MOST = 100 };
int32_t ex_contest_points(const ex_contest *c, int32_t s, double *seconds);
double ex_contest_point(const ex_contest *c, int32_t s, int32_t p, int32_t column, int32_t point);
/* As many policies as colours can tell apart: all, or the first and those with the least means; a sentence of that. */
int32_t ex_contest_lines(const ex_contest *c, int32_t s, int32_t lines[EX_LINES_MOST]);
void ex_contest_lines_note(const ex_contest *c, char *text, size_t size);
/* sweep.png: mean job completion time against the rate, a panel for each number of balancers; or against that. */
bool ex_contest_sweep(const ex_contest *c);
/* Powers of ten where values lie `apart` times apart; of few decades whole ones, for the sake of round ticks. */
void ex_axis_settle(ex_axis *y, double least, double most, double apart);

#endif
