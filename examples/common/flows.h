/* flows.h - the flow-level world as programs use it: what a command line makes of a preset, policies by name, many runs
   on all cores, and figures with their intervals over seeds

   A run is a cell: one descriptor (policy, rate, balancers and seed are in it) for so many seconds. Cells are computed
   in processes of their own, as many at a time as there are processors, and what comes out does not depend on how many
   that are, nor on their order. The same seed gives the same arrivals to every policy, so policies are compared seed by
   seed.

       ex_flows_how how = { .preset = RLLB_ENV_PRESET_FLEET };
       ex_flows world;
       ex_balance policies[EX_BALANCES_MAX];
       ex_cell *cells;                                    [policies][seeds]: the seeds of a setting stand together
       ...
       status = ex_balances_parse("policy", "sed,draw(3,1.2,0)", policies, &count);     EX_OK, or EX_USAGE: said
       if (!ex_flows_open(&world, &how)) return EX_FAILED;                              said, file and line
       for each policy p and seed k:
           ex_cell *c = &cells[p * seeds + k];
           ex_cell_default(c, &world.desc, 600);                                        seconds
           c->desc.rate = 627; c->desc.balancers = 32; c->desc.seed = seed + k;         and whatever else
           if (!ex_balance_apply(&policies[p], &c->desc)) return EX_USAGE;              a model that does not fit: said
       status = ex_cells_run(cells, policies * seeds, 0, "simulating", quiet);          EX_GO_ON, or leave with it
       e = ex_cells_estimate(&cells[p * seeds], seeds, EX_FLOW_MEAN);                   mean and 95 % interval
       e = ex_cells_differ(&cells[p * seeds], &cells[0], seeds, EX_FLOW_MEAN);          less the first policy, paired
       ex_cells_free(cells, policies * seeds);
       ex_flows_close(&world);

   A descriptor's pointers (servers, events, trace, controls) must last until ex_cells_run is through. A process has a
   copy of all memory, so that cells do not disturb each other, and what a controller learns there is gone with it. */

#ifndef EX_FLOWS_H
#define EX_FLOWS_H

#include "models.h"
#include "study.h"

/* ---- the world ----------------------------------------------------------------------------------------------- */

/* Names of the presets, of the weights and of on and off, as an option with choices wants them. */
extern const char *const ex_preset_names[], *const ex_weights_names[], *const ex_switch_names[];

/* What balancers are told of their servers: as in the preset; CPUs times speed; the same of each. */
enum { EX_WEIGHTS_PRESET, EX_WEIGHTS_CAPACITY, EX_WEIGHTS_EQUAL, EX_WEIGHTS };

/* What is changed of a preset. Zeroed: nothing. */
typedef struct ex_flows_how {
    int32_t preset;          /* rllb_env_preset */
    int32_t servers;         /* so many, those of the preset over and over; the load stays */
    int32_t weights;
    bool even;               /* all speeds 1 */
    bool unguarded;          /* plain rules: no guard rail of the balancer is in force */
    const char *trace_path;  /* arrivals from a file ... */
    double round_s;          /* ... whose amounts take that long, not the time they took; 0: that time */
    const char *events_path; /* what happens to servers and to the rate, see ex_events_parse */
} ex_flows_how;

typedef struct ex_flows {
    rllb_env_flows_desc desc; /* what cells begin with: the preset as changed, policy sed, the preset's rate */
    double capacity;          /* flows per second; a load of x is a rate of x times that */
    rllb_env_server_desc *servers[EX_WEIGHTS]; /* the same ones, told so; those of desc are as it was asked for */
    rllb_env_event *events;
    rllb_env_trace *trace;
} ex_flows;

/* False: said on stderr. */
bool ex_flows_open(ex_flows *f, const ex_flows_how *how);
void ex_flows_close(ex_flows *f);
/* A line on stderr if that rate is more than the servers can do: queues then grow as long as it lasts. */
void ex_flows_warn_rate(const ex_flows *f, double rate);

/* All rails off. */
rllb_guard ex_guard_off(void);

/* Servers alike in CPUs and speed; of more than fit, the last group has all the others. */
enum { EX_GROUPS_MAX = 8 };

typedef struct ex_group {
    int32_t cpus, servers;
    double speed;
    char name[32]; /* "4 CPUs", "4 CPUs x 0.3" */
} ex_group;

/* Answers how many; of[count of servers], which may be NULL, is the group of each. */
int32_t ex_flows_groups(const rllb_env_flows_desc *d, ex_group out[EX_GROUPS_MAX], int32_t *of);

/* The same, but the first servers that events name, EX_LINES_MAX - EX_GROUPS_MAX at most, stand alone, in front:
   "server 3, 4 CPUs". */
enum { EX_LINES_MAX = 12 };
int32_t ex_flows_lines(const rllb_env_flows_desc *d, ex_group out[EX_LINES_MAX], int32_t *of);

/* ---- events -------------------------------------------------------------------------------------------------- */

/* A table with the heading time_s,event,server,value; times never fall; events as rllb_env_event_name has them:
       20,speed,3,0.3      server 3 (counted from 0) works at 0.3 times its speed from second 20 on; 0: stands still
       20,fail,3,0.5       half of what reaches it fails
       40,back,3,          full speed, no failures
       40,leave,3,         no new flows;   join: it is there again
       60,rate,,1.5        arrivals at 1.5 times the rate
   Blank lines and those that begin with # are passed over. False: *line (0: all of it) and why say what is wrong. */
bool ex_events_parse(const char *text, int32_t servers, rllb_env_event **out, int32_t *count, int64_t *line,
                     char why[200]);

/* ---- policies ------------------------------------------------------------------------------------------------ */

enum { EX_BALANCES_MAX = 64 };

typedef struct ex_balance {
    char name[64];           /* as it was asked for: "sed", "draw(3,1.2,0)"; of a file: "learned:NAME" */
    rllb_balancer_desc desc; /* policy and its numbers */
    ex_model *model;         /* LEARNED: all of that is the model's; else NULL */
    const rllb_env_server_desc *servers; /* the world's, told otherwise: of ex_flows.servers; NULL: as they are */
    bool oracle;             /* sees what no balancer sees */
} ex_balance;

/* Names apart by commas, some with numbers in brackets, those at the end left out at will:
       draw(d,a,gamma)  equalise(duration or stretch,d,a,gamma,eta)  maglev_bounded(bound)  peak_ewma(seconds)
       prequal(hot)  learned(file of a model)
   "learned" alone is the model that ships with rllb; models stay open until the program ends. "all": every one of
   rllb.h that needs neither a controller nor a function of yours. EX_OK, or, after a line on stderr, EX_USAGE: it
   names the option and, for a name that is none, those that are; or EX_FAILED: a file that is no model. */
int ex_balances_parse(const char *option, const char *text, ex_balance out[EX_BALANCES_MAX], int32_t *count);
/* The policy of a model, called learned:NAME; name NULL: the model's own. */
void ex_balance_learned(ex_balance *b, ex_model *model, const char *name);
/* Does it go by weights that it was told, and would do otherwise with others? */
bool ex_balance_by_weights(const ex_balance *b);
/* Into the balancers of a world, whose guard stays. The number of balancers must be set before. False: a model that
   does not fit the world, said. */
bool ex_balance_apply(const ex_balance *b, rllb_env_flows_desc *d);

/* ---- runs ---------------------------------------------------------------------------------------------------- */

/* Times in seconds. All figures are of what came to its end after the warm-up, residual times and busy workers of looks
   every look_s from then on. A share of nothing is NaN. */
typedef enum ex_flow_figure {
    EX_FLOW_MEAN, /* job completion time: from the client and back to it */
    EX_FLOW_P50,
    EX_FLOW_P90,
    EX_FLOW_P99,
    EX_FLOW_P999,
    EX_FLOW_JAIN,          /* of the servers' residual times, mean over looks; nothing anywhere counts as 1 */
    EX_FLOW_JAIN_BUSY,     /* the same over looks at which there was something somewhere */
    EX_FLOW_RESIDUAL_MEAN, /* residual time of a server */
    EX_FLOW_RESIDUAL_MAX,  /* the greatest of all looks */
    EX_FLOW_COMPLETED,
    EX_FLOW_REJECTED, /* no room in the world included */
    EX_FLOW_FAILED,
    EX_FLOW_TIMED_OUT,
    EX_FLOW_IN_FLIGHT, /* at the end of the run */
    EX_FLOW_FIGURES
} ex_flow_figure;

extern const char *const ex_flow_keys[]; /* "jct_mean", ... for files */

/* Over time, in equal bins from the start of the run; columns one after another, [EX_FLOW_COLUMNS][bins], or
   [EX_FLOW_COLUMNS_MOST][bins]. */
typedef enum ex_flow_column {
    EX_COLUMN_MEAN,      /* job completion time of what came to its end; NaN: nothing did */
    EX_COLUMN_COMPLETED, /* per second */
    EX_COLUMN_REJECTED,  /* per second; failures and timeouts as well */
    EX_COLUMN_JAIN,
    EX_COLUMN_RESIDUAL_MEAN,
    EX_COLUMN_RESIDUAL_MAX,
    EX_COLUMN_BUSY, /* one for each group from here on */
    EX_FLOW_COLUMNS = EX_COLUMN_BUSY + EX_GROUPS_MAX,
    /* With wants_weights, for each line of ex_flows_lines: a server's weight in force, mean over the balancers, 1 being
       the mean; and how many of the flows that came then it got, 1 being what n servers alike would get each. */
    EX_COLUMN_WEIGHT = EX_FLOW_COLUMNS,
    EX_COLUMN_SHARE = EX_COLUMN_WEIGHT + EX_LINES_MAX,
    EX_FLOW_COLUMNS_MOST = EX_COLUMN_SHARE + EX_LINES_MAX
} ex_flow_column;

enum { EX_FLOW_QUANTILES = 201, EX_FLOW_BINS = 400 };

/* Job completion times of one class of flows. */
typedef struct ex_flow_class {
    double completed, mean, p50, p90;
    float quantile[EX_FLOW_QUANTILES]; /* evenly from least to greatest: for box plots */
} ex_flow_class;

typedef struct ex_cell {
    rllb_env_flows_desc desc;
    double duration_s; /* as many whole looks as fit */
    double warmup;    /* share of the duration; default 0.1 */
    double look_s;    /* default 0.5 */
    bool wants_series, wants_weights; /* wants_weights: the series has those columns, too */
    double apart_s;   /* > 0: flows with just this work (to a millionth) are a class of their own, see `classes` */
    char name[96];    /* for messages; may be empty */
    /* Set by a run: */
    bool done;
    double value[EX_FLOW_FIGURES];
    double busy[EX_GROUPS_MAX]; /* flows in service at a server of the group, mean */
    int32_t groups;
    float quantile[EX_FLOW_QUANTILES]; /* of job completion times, evenly from least to greatest: for box plots */
    ex_flow_class classes[2];          /* with apart_s: those of just that work, and the others */
    int32_t bins;                      /* at most EX_FLOW_BINS; 0: no series */
    double bin_s;
    double *series;
} ex_cell;

void ex_cell_default(ex_cell *c, const rllb_env_flows_desc *desc, double duration_s);
/* All of them, `jobs` at a time (0: one for every processor); `what` is the word for the progress bar. EX_GO_ON, or the
   status to leave with: a failure that has been said, or an interrupt. */
int ex_cells_run(ex_cell *cells, int32_t count, int32_t jobs, const char *what, bool quiet);
/* What ex_cells_run does, here and now. False: said on stderr. */
bool ex_cell_run(ex_cell *c);
void ex_cells_free(ex_cell *cells, int32_t count); /* what the runs made, and the array itself */

/* Over the cells of one setting, by Student's t; and those of one less those of another, seed by seed. NaN if one of
   the values is. */
ex_estimate ex_cells_estimate(const ex_cell *cells, int32_t seeds, ex_flow_figure figure);
ex_estimate ex_cells_differ(const ex_cell *cells, const ex_cell *from, int32_t seeds, ex_flow_figure figure);
ex_estimate ex_cells_busy(const ex_cell *cells, int32_t seeds, int32_t group);

#endif
