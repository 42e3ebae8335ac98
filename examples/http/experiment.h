/* experiment.h - what the files of the experiment know of each other

   experiment.c  main: options, the scenes, the plan
   cells.c       one run: backends, proxies and load as processes, started, watched, stopped
   apache.c      real Apache servers under CPU quotas
   figures.c     what the logs say
   report.c      tables and files
   pictures.c    pictures

   A scene is a world with its traffic. A cell is one policy in one scene with one seed: processes of its own, a log of
   its requests in OUT/runs/SCENE/POLICY-REPEAT.csv. The seed of a repeat is the same for every policy, and so are
   arrivals and demands: differences are paired by repeat. */

#ifndef PX_EXPERIMENT_H
#define PX_EXPERIMENT_H

#include "common.h"
#include "study.h"

#include <sys/types.h>

enum {
    LAB_SERVERS = 8,
    LAB_POLICIES = 24,
    LAB_REPEATS = 64,
    LAB_SCENES = 16,
    LAB_FAULTS = 4,
    LAB_PROXIES = 2,
    LAB_CURVE = 40,     /* points of a learning curve */
    LAB_QUANTILES = 201 /* evenly from least to greatest: for box plots */
};
#define LAB_WINDOW_S 10.0

/* ---- policies ------------------------------------------------------------------------------------------------ */

typedef enum lab_told {
    LAB_TOLD_NOTHING, /* all weights 1 */
    LAB_TOLD_BEFORE,  /* what the servers could do before anything happened to them */
    LAB_TOLD_TRUE     /* what they can do: an oracle where that is not what they are sold as */
} lab_told;

typedef struct lab_policy {
    char name[40];  /* as tables have it: "sed", "sed+told", "lsq again" */
    char policy[32]; /* as the proxy has it */
    lab_told told;
    bool apache;     /* only with servers that say how many of their workers are busy */
    int32_t again;   /* the policy that this one repeats, as a control of the noise; -1: none */
} lab_policy;

/* ---- scenes -------------------------------------------------------------------------------------------------- */

typedef enum lab_part { LAB_THREE, LAB_FARM, LAB_DEGRADED, LAB_FAULT, LAB_APACHE, LAB_PARTS } lab_part;
extern const char *const lab_part_names[];

typedef struct lab_server {
    double block_ms; /* that every request holds a slot */
    double delay_ms; /* that every answer takes besides, and no slot */
    int32_t slots;
    double speed;    /* without notice, from the start */
    double before;   /* what it can do, by what it is sold as, in any unit */
    double truly;    /* what it can do */
} lab_server;

typedef struct lab_fault {
    double at_s;
    int32_t server;
    const char *kind; /* of the backends: "slow" (to speed `value`), "fail", "none" */
    double value;
} lab_fault;

typedef struct lab_scene {
    const char *key, *title;
    lab_part part;
    int32_t servers;
    lab_server server[LAB_SERVERS];
    double work_ms;   /* mean of what a request asks of a slot; 0: nothing */
    bool exponential; /* work is; else every request asks the same */
    double rate;      /* requests per second, Poisson */
    bool closed;      /* one client that waits for each answer, and asks no faster than rate */
    int32_t learn, requests; /* the first `learn` of them are the learning; 0: by time */
    double learn_s, total_s;
    int32_t proxies;
    int32_t retries;  /* of a proxy; -1: its default */
    lab_fault fault[LAB_FAULTS];
    int32_t faults;
    uint64_t policies; /* bit i: policy i */
    bool wanted;
    char skipped[200]; /* why not, if not */
} lab_scene;

/* ---- runs ---------------------------------------------------------------------------------------------------- */

typedef struct lab_figures { /* of what came after the learning; times in ms, of requests that were answered well */
    int32_t sent, ok;
    double mean, sd, p50, p90, p95, p99, p999, cv, throughput;
    double share[LAB_SERVERS]; /* of all that were answered */
} lab_figures;

typedef struct lab_run {
    bool done;
    lab_figures f;
    float quantile[LAB_QUANTILES];
    float curve[LAB_CURVE];  /* mean ms, learning included, in equal parts of the requests */
    int32_t windows;         /* whole ones of LAB_WINDOW_S, learning included */
    float *window;           /* mean ms */
    int32_t bins;            /* of a second */
    float *bin_mean;         /* ms; NaN: nothing */
    float *bin_done;         /* answered well, of those that were due in it */
    float *bin_share;        /* [bins][LAB_SERVERS], of requests that were due in it and got an answer */
} lab_run;

typedef struct lab_conditions { /* of the machine while a part ran */
    double seconds, own_s, all_s; /* processor time: of the cells, of all there is on the machine */
    double stall_most_s;
    int32_t stalls; /* how often a sleeping process was woken more than 20 ms late, and the latest of these */
    int32_t processors, jobs; /* jobs: cells at a time */
} lab_conditions;

typedef struct lab {
    const ex_program *program;
    const char *out, *bin;
    uint64_t seed;
    int32_t repeats, jobs;
    bool quick, resume, quiet;
    lab_policy policy[LAB_POLICIES];
    int32_t policies;
    lab_scene scene[LAB_SCENES];
    int32_t scenes;
    lab_run *runs; /* [scene][policy][repeat] */
    lab_conditions conditions[LAB_PARTS];
} lab;

bool lab_has(const lab_scene *s, int32_t policy);
lab_run *lab_run_of(const lab *l, int32_t scene, int32_t policy, int32_t repeat);
int32_t lab_find(const lab *l, const char *policy);      /* -1: none of that name */
int32_t lab_find_scene(const lab *l, const char *key);   /* -1: none, or it did not run */
double lab_weight(const lab_scene *s, int32_t server, lab_told told);
ex_path lab_log(const lab *l, int32_t scene, int32_t policy, int32_t repeat); /* OUT/runs/SCENE/POLICY-REPEAT.csv */

/* ---- cells.c, apache.c ----------------------------------------------------------------------------------------- */

/* All cells of a part whose logs are not there. EX_GO_ON, or the status to leave with, said. */
int lab_work(lab *l, lab_part part);

/* Real servers for the scenes of LAB_APACHE: started once for all cells, ended with the program however that ends.
   False: scene->skipped says why. */
bool lab_apache_start(lab *l, lab_scene *scene);
void lab_apache_stop(void);
int32_t lab_apache_port(int32_t server);
const char *lab_apache_target(void); /* what is asked for */

/* ---- figures.c --------------------------------------------------------------------------------------------------- */

/* Reads the logs of all that ran. False: said. */
bool lab_read(lab *l);
void lab_free(lab *l);

typedef enum lab_key {
    LAB_MEAN, LAB_P50, LAB_P90, LAB_P95, LAB_P99, LAB_P999, LAB_SD, LAB_CV, LAB_THROUGHPUT, LAB_LOST, LAB_KEYS
} lab_key;
extern const char *const lab_key_names[]; /* "mean_ms", ... for files */

double lab_value(const lab_run *r, lab_key key);
ex_estimate lab_estimate(const lab *l, int32_t scene, int32_t policy, lab_key key);
double lab_median(const lab *l, int32_t scene, int32_t policy, lab_key key); /* over the repeats */
/* How much policy is above (below: negative) other, in percent, repeat by repeat; means and intervals of logarithms. */
ex_estimate lab_above(const lab *l, int32_t scene, int32_t policy, int32_t other, lab_key key);
ex_estimate lab_share(const lab *l, int32_t scene, int32_t policy, int32_t server);
/* The same for the mean of window w; NaN where there is none. */
ex_estimate lab_window_above(const lab *l, int32_t scene, int32_t policy, int32_t other, int32_t w);
double lab_above_median(const lab *l, int32_t scene, int32_t policy, int32_t other, lab_key key);
double lab_window_median(const lab *l, int32_t scene, int32_t policy, int32_t other, int32_t w);
int32_t lab_windows(const lab *l, int32_t scene); /* that all runs have */
/* Share of a server over time, one value a second: mean over the repeats. Answers the seconds. */
int32_t lab_share_series(const lab *l, int32_t scene, int32_t policy, int32_t server, double *out, int32_t room);
/* Seconds from at_s until that share is, over a second, within a fifth of `due` (never below: due 0, at most a tenth of
   what n servers alike would get). NaN: not within the run. */
double lab_there(const lab *l, int32_t scene, int32_t policy, int32_t server, double at_s, double due);
double lab_due(const lab_scene *s, int32_t server); /* share by what it can do when all is well */
/* Swings: standard deviation over time of the shares' means of five seconds, after the learning, root mean square over
   servers and repeats. */
ex_estimate lab_swing(const lab *l, int32_t scene, int32_t policy);

/* ---- goals --------------------------------------------------------------------------------------------------- */

typedef enum lab_verdict { LAB_MET, LAB_NOT_SHOWN, LAB_MISSED, LAB_NOT_RUN } lab_verdict;
extern const char *const lab_verdict_names[]; /* "met", "not shown", "missed", "not run" */

typedef struct lab_goal {
    char key[64], what[240]; /* what was wanted, how it is judged */
    double bound;            /* at most, in the unit of the value */
    ex_estimate value;
    const char *unit;
    lab_verdict verdict;
    char note[160];
} lab_goal;

enum { LAB_GOALS = 24 };
/* From the data alone. Met: the value is within the bound, and so is its interval where it has one; not shown: the
   value is, its interval is not. */
int32_t lab_goals(const lab *l, lab_goal out[LAB_GOALS]);

/* ---- report.c ------------------------------------------------------------------------------------------------ */

int32_t lab_first(const lab *l, int32_t scene); /* policy that a scene's table compares with */
bool lab_ran(const lab *l, lab_part part);
bool lab_report(const lab *l); /* all files */
void lab_print(const lab *l);

/* ---- pictures.c ---------------------------------------------------------------------------------------------- */

bool lab_draw(const lab *l);

#endif
