/* lab.h - many learners and rules in flow-level worlds: what must be trained is trained, what must be run is run, and
   all of it is kept in a folder, file by file

       ex_lab lab = { .worlds = worlds, .world_count = 2, .out = out, .seeds = 3, .runs = 10, .seed = 1 };
       if (!ex_lab_open(&lab)) return EX_FAILED;
       l = ex_lab_learner_of(&lab, "qmix", 0, &settings);                      to be trained, `seeds` models of it
       a = ex_lab_row(&lab, (ex_lab_setting){ .world = 0, .rate = 700, .learner = l });
       b = ex_lab_row(&lab, (ex_lab_setting){ .world = 0, .rate = 700, .policy = "sed" });
       status = ex_lab_work(&lab);                                             EX_GO_ON, or leave with it
       e = ex_lab_estimate(&lab, a, b, EX_LAB_MEAN);                           learned over sed, with its interval
       ex_lab_close(&lab);

   A row that was asked for before is the same row: so a report may be made twice, once with lab.planning set, to find
   out what it needs (estimates are NaN then), and once when all is there.

   OUT/models/NAME-SEED-HASH.safetensors is a model, .csv its curve of learning, .judged.csv how it was judged on the
   way, .state what a stopped training goes on from; the hash is of all its settings. OUT/cells/... are the runs of a
   cell, by a hash of all that shapes them, the bytes of the model included. What is there is not done again; a run that
   was stopped, by whatever, goes on with the same call. OUT/seconds.csv tells what training and judging took: it is the
   one file that depends on the time.

   Rules are told the true capacities, learners nothing: equal weights. No guard rail is in force. Runs have the seeds
   seed, seed + 1, ...: the same arrivals for every row of a rate, and never those of training. */

#ifndef EX_LAB_H
#define EX_LAB_H

#include "flows.h"
#include "marl.h"
#include "paper.h"

typedef struct ex_lab_world {
    const char *name;
    int32_t preset, servers;   /* servers 0: the preset's */
    double duration_s, warmup; /* of a run */
    bool pages;                /* traffic of wiki and static pages */
} ex_lab_world;

typedef struct ex_lab_setting {
    int32_t world;
    double rate;
    int32_t balancers;  /* 0: the preset's */
    const char *policy; /* as ex_balances_parse has them; NULL: */
    int32_t learner;
    double step;        /* times the interval between decisions; 0: 1 */
} ex_lab_setting;

/* Of a run. Times in seconds, of requests that completed. */
typedef enum ex_lab_number {
    EX_LAB_MEAN,
    EX_LAB_P50,
    EX_LAB_P90,
    EX_LAB_P99,
    EX_LAB_WIKI_MEAN, /* with pages; else NaN */
    EX_LAB_WIKI_P50,
    EX_LAB_WIKI_P90,
    EX_LAB_STATIC_MEAN,
    EX_LAB_STATIC_P50,
    EX_LAB_STATIC_P90,
    EX_LAB_FAIR, /* Jain's index of residual times, at looks at which there is work */
    EX_LAB_RESIDUAL,
    EX_LAB_RESIDUAL_MAX,
    EX_LAB_LOST, /* share of the ends that are no completion */
    EX_LAB_BUSY_WEAK, /* busy workers of a server of the group with fewer CPUs */
    EX_LAB_BUSY_STRONG,
    EX_LAB_BUSY_RATIO,
    EX_LAB_NUMBERS
} ex_lab_number;
extern const char *const ex_lab_numbers[EX_LAB_NUMBERS];

/* And how some of them are spread over requests and looks: quantiles, evenly from least to greatest. */
typedef enum ex_lab_spread {
    EX_LAB_ALL,
    EX_LAB_WIKI,
    EX_LAB_STATIC,
    EX_LAB_WEAK,
    EX_LAB_STRONG,
    EX_LAB_SPREADS
} ex_lab_spread;
enum { EX_LAB_POINTS = 51, EX_LAB_VALUES = EX_LAB_NUMBERS + EX_LAB_SPREADS * EX_LAB_POINTS };

enum { EX_LAB_WORLDS = 8, EX_LAB_RUNS_MAX = 1000, EX_LAB_SEEDS_MAX = 100 };

typedef struct ex_lab_learner {
    char name[64]; /* of its files */
    int32_t world;
    ex_marl_settings settings; /* but for the seed */
    int32_t judge_every; /* set it, and while it learns it is judged without exploration: before the first update, after
                            each so many episodes from there, and after the last */
} ex_lab_learner;

/* The runs of a setting; of a learner, those of one of its models. */
typedef struct ex_lab_group {
    ex_lab_setting is;
    int32_t model; /* 0 ... seeds - 1 */
    char path[1200];
    double *values; /* [runs][EX_LAB_VALUES]; NULL: not there yet */
} ex_lab_group;

typedef struct ex_lab {
    const ex_lab_world *worlds;
    int32_t world_count;
    const char *out;
    int32_t seeds, runs; /* models of each learner; runs of each cell */
    int32_t jobs;        /* at a time; 0: one for every processor */
    uint64_t seed;
    bool quiet;
    bool planning;

    ex_flows told[EX_LAB_WORLDS], untold[EX_LAB_WORLDS]; /* the lab's own from here on */
    ex_lab_learner *learners;
    ex_lab_group *groups;
    int32_t learner_count, learner_room, group_count, group_room;
    struct ex_lab_traffic *traffic;
    int32_t traffic_count, traffic_room;
    ex_lock lock;
} ex_lab;

/* Makes and locks the folder. False: said. */
bool ex_lab_open(ex_lab *lab);
void ex_lab_close(ex_lab *lab);

/* How a rule does, told the true capacities, in the worlds that a learner is judged in: their mean and 90th percentile,
   means over the worlds. EX_GO_ON, or the status to leave with. */
int ex_lab_judge_rule(ex_lab *lab, int32_t learner, const char *policy, double *mean, double *p90);

/* Asks for a learner (known by its name) and for a row; answers its number. */
int32_t ex_lab_learner_of(ex_lab *lab, const char *name, int32_t world, const ex_marl_settings *s);
int32_t ex_lab_row(ex_lab *lab, ex_lab_setting s);

/* Trains and runs what is missing, and reads the rest. EX_GO_ON, or the status to leave with. */
int ex_lab_work(ex_lab *lab);

/* Of a row's models and runs, or of their ratios to another row's (over >= 0), model by model and run by run. The
   interval is Student's t over the runs (each the mean of the models), or over the models (each the mean of the runs):
   whichever is wider. NaN while planning, or if one of the values is. */
ex_estimate ex_lab_estimate(const ex_lab *lab, int32_t row, int32_t over, ex_lab_number number);
/* The spreads of some rows, of all their models and runs, one after another; the caller frees it. NULL: no memory. */
double *ex_lab_spreads(const ex_lab *lab, const int32_t *rows, int32_t row_count, ex_lab_spread spread, double unit,
                       int32_t *count);
/* The ratio of each model and run. NULL: no memory. */
double *ex_lab_ratios(const ex_lab *lab, int32_t row, int32_t over, ex_lab_number number, int32_t *count);

/* The rows of a model's training: [count] for each column of ex_marl_row but the last. One that diverged has fewer
   episodes than its settings say. judged: those of its judging instead, means over one world of each rate. False:
   said. */
typedef struct ex_lab_curve {
    int32_t count;
    double *columns;
} ex_lab_curve;

bool ex_lab_curve_read(const ex_lab *lab, int32_t learner, int32_t model, bool judged, ex_lab_curve *c);
/* "jct_mean", ...: NULL if there is no such column. */
const double *ex_lab_curve_column(const ex_lab_curve *c, const char *name);
void ex_lab_curve_free(ex_lab_curve *c);
/* Where a model's file is; ending: ".safetensors". */
void ex_lab_model_path(const ex_lab *lab, int32_t learner, int32_t model, const char *ending, char path[1200]);
bool ex_lab_is_there(const char *path);

#endif
