/* study.h - what tune, compare and ablation share: training runs on the cluster, many at a time, and what to make of
   their figures

   A study is a list of trials (settings of one training run) and a folder. Every run that ends leaves its history in
   OUT/runs/NAME.csv, complete or not at all; NAME ends in a number made from all settings. So a study that was
   stopped, by Ctrl-C, kill -9 or a power cut, goes on with --resume where it was, slices of it may be computed
   anywhere (--shard I/N) and joined (--merge DIR...), and a run of other settings is never taken for one of these. A
   run is its settings and seed, so none of this changes a byte of any file. Nothing that is written tells the time.

   Runs are processes: one that crashes takes nothing with it. They end when their parent does. */

#ifndef EX_STUDY_H
#define EX_STUDY_H

#include "cluster.h"

/* ---- one training run ---------------------------------------------------------------------------------------- */

enum { EX_DQN, EX_DUELING };
extern const char *const ex_algo_names[];

typedef struct ex_trial {
    int32_t mode, traffic; /* rllb_env_mode, rllb_env_traffic */
    int32_t algo;          /* EX_DQN, EX_DUELING */
    bool double_dqn, prioritized, portable;
    bool no_target;    /* the target network is a copy after every update */
    bool no_replay;    /* an update sees the newest transition, and no other */
    bool never_learns; /* no updates at all: what the published ablation does for "no replay" */
    double lr, gamma, tau, clip; /* clip 0: any gradient */
    double epsilon_decay, epsilon_floor;
    double epsilon_fixed; /* > 0: this share of random actions, from the first episode to the last */
    int32_t batch, replay, n_step, learn_every;
    int32_t soft_every; /* > 0: one more soft target update every so many steps */
    int32_t episodes;
    uint64_t seed;
} ex_trial;

/* The published settings: DQN, seed0, high traffic, lr 1e-3, gamma 0.99, 800 episodes, an update every step. */
void ex_trial_default(ex_trial *t);

/* What is known of the network at the end of a run. Judged without exploration on episodes that it has not seen;
   VALUE is what it expects (greedy value of the states it visits), GAIN what then came, discounted. */
enum {
    EX_GREEDY_RETURN,
    EX_GREEDY_LENGTH,
    EX_GREEDY_SURVIVAL,
    EX_GREEDY_LOAD_STD,
    EX_GREEDY_P99,
    EX_GREEDY_VALUE,
    EX_GREEDY_GAIN,
    EX_FIGURES
};
#define EX_STUDY_JUDGED 200 /* episodes of that judging */

typedef struct ex_run {
    ex_trial trial;
    char name[160]; /* of its file, without .csv */
    int32_t group;  /* runs of one group differ in their seeds only */
    double *data;   /* NULL until it is there; see below */
} ex_run;

double ex_run_figure(const ex_run *r, int32_t figure);
const double *ex_run_returns(const ex_run *r); /* [trial.episodes] */
const double *ex_run_lengths(const ex_run *r);
const double *ex_run_dropped(const ex_run *r); /* share of the arrived work */

/* ---- many ---------------------------------------------------------------------------------------------------- */

/* How a program of studies is run, and the options for it. */
typedef struct ex_study_how {
    const char *out, *shard;
    int32_t jobs; /* 0: as many as there are processors */
    bool resume, merge, portable, quiet;
} ex_study_how;

#define EX_STUDY_OPTIONS(h)                                                                                  \
    EX_HEADING("How it is run"),                                                                             \
    EX_INT("jobs", &(h).jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),                   \
    EX_FLAG("resume", &(h).resume, "keep the runs that --out holds already, do those that are missing"),     \
    EX_STRING("shard", &(h).shard, "I/N", "only every Nth run, from the Ith (1 to N); see docs/cluster.md"), \
    EX_FLAG("merge", &(h).merge, "no runs: join those of the folders DIR..., made with these same options"), \
    EX_FLAG("portable", &(h).portable, "arithmetic that gives the same bits on every machine; slower"),      \
    EX_STRING("out", &(h).out, "DIR", "folder for the results"),                                             \
    EX_FLAG("quiet", &(h).quiet, "no progress, no tables")

#define EX_STUDY_FOLDERS_MAX 4096

typedef struct ex_study {
    const ex_study_how *how;
    ex_run *runs;
    int32_t count, room, groups;
    int32_t shard, shards; /* 1 of 1: all */
    int32_t tail;          /* the score of a run, for "best so far": the mean of its last so many returns */
    const char *(*group_name)(int32_t group);
    ex_lock lock;
} ex_study;

/* Reads how->shard and checks how it all fits; EX_GO_ON, or the status to leave with. folders: of --merge. */
int ex_study_open(ex_study *s, const ex_study_how *how, int32_t folder_count);
/* Adds a run; `name` begins the name of its file. The runs of a group come one after another, the groups in order.
   False: no memory, said on stderr. */
bool ex_study_add(ex_study *s, const ex_trial *trial, int32_t group, const char *name);
/* Locks the folder and sees to it that every run of the study has its data: reads those that are there, computes or
   merges the rest. EX_GO_ON: go on to the results. EX_OK: a slice is done, there is nothing to report on. */
int ex_study_run(ex_study *s, const char **folders, int32_t folder_count);
void ex_study_close(ex_study *s);
/* OUT/runs.csv: a row for every run, its settings and figures. */
bool ex_study_write_runs(const ex_study *s);
/* Members "program", "version" and "settings": the options that shape the results. Leaves the object open. */
void ex_study_json_begin(const ex_study *s, ex_json *j, const ex_program *program);
/* The run of a group with the i-th seed. */
const ex_run *ex_study_find(const ex_study *s, int32_t group, int32_t i);

/* ---- figures ------------------------------------------------------------------------------------------------- */

double ex_mean(const double *values, int32_t count);
/* Of the last `tail` values (all, if there are fewer): their mean and their sample standard deviation. */
double ex_tail_mean(const double *values, int32_t count, int32_t tail);
double ex_tail_sd(const double *values, int32_t count, int32_t tail);

/* A mean and its 95 % interval. */
typedef struct ex_estimate {
    double mean, low, high;
} ex_estimate;

/* By Student's t. One value: low and high are NaN. */
ex_estimate ex_estimate_t(const double *values, int32_t count);
/* By the percentile bootstrap with a fixed seed. */
ex_estimate ex_estimate_bootstrap(const double *values, int32_t count);

/* Rank correlation (Spearman; ties share their mean rank). NaN if there are fewer than two, or one side is constant. */
double ex_spearman(const double *a, const double *b, int32_t count);
/* Its interval by bootstrap over the pairs. */
ex_estimate ex_spearman_bootstrap(const double *a, const double *b, int32_t count);

/* Mean of the `window` values up to each. */
void ex_rolling_mean(const double *values, int32_t count, int32_t window, double *out);

/* "-12.34 ± 0.56" for a t estimate; "-12.34" if there is no interval. */
const char *ex_estimate_text(ex_estimate e, int32_t decimals, char out[64]);
/* "[-0.12, 0.34]" */
const char *ex_interval_text(ex_estimate e, int32_t decimals, char out[64]);
void ex_json_estimate(ex_json *j, const char *key, ex_estimate e);

/* ---- a run, a group and two groups in figures ------------------------------------------------------------------ */

/* The last episodes are those that stability is judged by. */
#define EX_LAST 100

typedef enum ex_measure {
    EX_M_LAST,     /* mean of the last 100 returns */
    EX_M_SD,       /* their standard deviation: how unsteady the agent still is */
    EX_M_AREA,     /* area under the learning curve, per episode: the mean of all returns */
    EX_M_LENGTH,   /* mean length of the last 100 episodes, steps */
    EX_M_GREEDY,   /* mean return without exploration, at the end */
    EX_M_SURVIVAL, /* share of those episodes that the world did not end early */
    EX_M_BIAS,     /* what the network expects less what it gets: positive is overestimation */
    EX_MEASURES
} ex_measure;

extern const char *const ex_measure_keys[]; /* "last_100_mean", ... for files */

double ex_run_measure(const ex_run *r, ex_measure m);
/* Over the seeds of a group, by Student's t. */
ex_estimate ex_group_measure(const ex_study *s, int32_t group, int32_t seeds, ex_measure m);
/* Group a less group b, seed by seed, by bootstrap. */
ex_estimate ex_group_differ(const ex_study *s, int32_t a, int32_t b, int32_t seeds, ex_measure m);
/* The learning curve of a group: rolling mean of `window` returns, averaged over the seeds; low and high are one
   standard deviation between the seeds away. [episodes] each. False: no memory, said on stderr. */
bool ex_group_curve(const ex_study *s, int32_t group, int32_t seeds, int32_t window, double *mean, double *low,
                    double *high);
/* The cells of all measures in a row of a table, and the heading for them. */
void ex_measure_heading(ex_table *t);
void ex_measure_cells(ex_table *t, const ex_study *s, int32_t group, int32_t seeds);
/* What the cells say, and that intervals of differences stand in brackets. */
void ex_measure_legend(void);
/* An object "measures" with an estimate for each. */
void ex_json_measures(ex_json *j, const ex_study *s, int32_t group, int32_t seeds);
/* OUT/curves.csv: learning curves of all groups, by name and side by side. */
bool ex_write_curves(const ex_study *s, int32_t seeds, int32_t window, const char *const *names);

#endif
