/* experiment.h - what the files of the experiment know of each other

   experiment.c  main: options, the scenes, the plan
   cells.c       one run: backends, balancers and load as processes, started, watched, stopped
   hosts.c       nginx and HAProxy in the place of our proxy, and what is done to them
   apache.c      real Apache servers under CPU quotas
   figures.c     what the logs say
   report.c      tables and files
   pictures.c    pictures

   A scene is a world with its traffic, before one host: the program that balances. A cell is one policy in one scene
   with one seed: processes of its own, a log of its requests in OUT/runs/SCENE/POLICY-REPEAT.csv. The seed of a repeat
   is the same for every policy, and so are arrivals and demands: differences are paired by repeat. */

#ifndef PX_EXPERIMENT_H
#define PX_EXPERIMENT_H

#include "common.h"
#include "study.h"

#include <sys/types.h>

enum {
    LAB_SERVERS = 8,
    LAB_OWN = 24, /* policies of the proxy */
    LAB_POLICIES = LAB_OWN + 16,
    LAB_REPEATS = 64,
    LAB_SCENES = 40,
    LAB_FAULTS = 4,
    LAB_EVENTS = 4,
    LAB_PROXIES = 2,
    LAB_PROCESSES = 2 + 1 + 2 * LAB_PROXIES, /* of a cell: backends, load, balancers and companions */
    LAB_CURVE = 40,     /* points of a learning curve */
    LAB_QUANTILES = 201 /* evenly from least to greatest: for box plots */
};
#define LAB_WINDOW_S 10.0
#define LAB_SPAN_S 60.0    /* shares of equal servers are judged by the minute */
#define LAB_PER_S 10000.0  /* requests a second that the companion's processor time is told for */

/* ---- hosts --------------------------------------------------------------------------------------------------- */

typedef enum lab_host { LAB_PROXY, LAB_NGINX, LAB_HAPROXY, LAB_HOSTS } lab_host;
extern const char *const lab_host_names[]; /* "proxy", "nginx", "haproxy" */

/* ---- policies ------------------------------------------------------------------------------------------------ */

typedef enum lab_told {
    LAB_TOLD_NOTHING, /* all weights 1 */
    LAB_TOLD_BEFORE,  /* what the servers could do before anything happened to them */
    LAB_TOLD_TRUE     /* what they can do: an oracle where that is not what they are sold as */
} lab_told;

/* What a policy is in comparisons, the same for all hosts. */
typedef enum lab_role {
    LAB_OTHER,
    LAB_BASE,             /* least connections */
    LAB_WEIGHTED,         /* the same with the weights that the servers are sold with */
    LAB_ORACLE,           /* by the true weights */
    LAB_LEARNED,          /* told nothing */
    LAB_LEARNED_WEIGHTED, /* told the weights that the servers are sold with */
    LAB_PLAIN,            /* rllb without a model, told nothing: what the module itself costs */
    LAB_AGAIN             /* the base once more */
} lab_role;

typedef struct lab_policy {
    char name[40];  /* as tables have it: "sed", "sed+told", "lsq again" */
    char policy[32]; /* as the host has it */
    lab_host host;
    lab_role role;
    int32_t color;   /* of pictures: counted by host */
    lab_told told;
    bool apache;     /* only with servers that say how many of their workers are busy */
    int32_t again;   /* the policy that this one repeats, as a control of the noise; -1: none */
} lab_policy;

/* ---- scenes -------------------------------------------------------------------------------------------------- */

typedef enum lab_part {
    LAB_THREE, LAB_FARM, LAB_DEGRADED, LAB_FAULT, LAB_APACHE, /* of the proxy */
    LAB_EQUAL, LAB_LOSS, LAB_COST,                            /* of other hosts, beside farm, degraded and faults */
    LAB_PARTS
} lab_part;
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

/* What is done to processes while requests come. */
typedef enum lab_deed {
    LAB_RELOAD, LAB_RESTART, LAB_KILL_WORKER, LAB_KILL_COMPANION, LAB_KILL_BACKEND, LAB_DEEDS
} lab_deed;
extern const char *const lab_deed_names[]; /* "reload", ... */

typedef struct lab_event {
    double at_s;
    lab_deed deed;
} lab_event;

typedef struct lab_scene {
    char key[48], title[120];
    const char *world; /* the key without the host: scenes of one world differ in their host only */
    lab_host host;
    lab_part part;
    int32_t servers;
    lab_server server[LAB_SERVERS];
    double work_ms;   /* mean of what a request asks of a slot; 0: nothing */
    bool exponential; /* work is; else every request asks the same */
    double rate;      /* requests per second, Poisson */
    bool closed;      /* one client that waits for each answer, and asks no faster than rate */
    int32_t clients;  /* > 0: so many that wait for each answer, as fast as they get them, whatever the rate */
    int32_t learn, requests; /* the first `learn` of them are the learning; 0: by time */
    double learn_s, total_s;
    int32_t proxies;
    int32_t retries;  /* of a proxy; -1: its default */
    lab_fault fault[LAB_FAULTS];
    int32_t faults;
    lab_event event[LAB_EVENTS];
    int32_t events;
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
    int32_t event_lost[LAB_EVENTS], event_sent[LAB_EVENTS]; /* from half a second before an event to the next one's */
    double core;    /* requests that were answered well for a second of the host's processor time; NaN: not measured */
    double helper;  /* percent of a core that the companion has, at LAB_PER_S */
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
    const char *model, *module, *companion; /* files, for the hosts */
    uint32_t hosts;                         /* bit i: host i is asked for */
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
int32_t lab_find(const lab *l, const char *policy);      /* of the proxy; -1: none of that name */
int32_t lab_role_of(const lab *l, int32_t scene, lab_role role); /* that policy of the scene; -1: none, or no scene */
int32_t lab_find_scene(const lab *l, lab_host host, const char *world); /* -1: none, or it did not run */
double lab_weight(const lab_scene *s, int32_t server, lab_told told);
ex_path lab_log(const lab *l, int32_t scene, int32_t policy, int32_t repeat); /* OUT/runs/SCENE/POLICY-REPEAT.csv */
ex_path lab_used(const lab *l, int32_t scene, int32_t policy, int32_t repeat); /* .used: processor time, of LAB_COST */

/* ---- cells.c, apache.c ----------------------------------------------------------------------------------------- */

/* All cells of a part whose logs are not there. EX_GO_ON, or the status to leave with, said. */
int lab_work(lab *l, lab_part part);
/* How long that will take, about; 0: nothing is to be done. */
double lab_work_s(lab *l, lab_part part);

typedef struct lab_arguments lab_arguments;

typedef struct lab_process {
    char name[16];
    pid_t pid;    /* 0: none, or it has ended */
    pid_t master; /* with workers: the first of its group, whose guard pid is; else 0 */
    int from;     /* its standard output */
    int status;
    bool killed; /* it was meant to end */
    char line[256];
    int32_t used;
    ex_path said; /* its standard error */
} lab_process;

typedef struct lab_cell {
    const lab *l;
    int32_t scene, policy, repeat;
    pid_t parent;
    lab_process parts[LAB_PROCESSES];
    int32_t count;
    int32_t port[LAB_SERVERS], proxy_port[LAB_PROXIES], log_port[LAB_PROXIES];
    int held[LAB_PROXIES]; /* sockets that keep proxy_port for hosts, until the cell ends */
    lab_process *backend, *host[LAB_PROXIES], *companion[LAB_PROXIES]; /* backend: that of the last server */
    char *why; /* in the mail */
} lab_cell;

/* For hosts.c: one argument more; why the cell fails (answers false); a process, `workers` if it will have such (they
   end with it); the same once more, in its place; its next line; whether somebody listens there, within 20 s; its end
   by a signal. */
void lab_add(lab_arguments *a, const char *format, ...) EX_PRINTF(2, 3);
lab_arguments *lab_arguments_new(void); /* the same memory each time */
bool lab_no(lab_cell *c, const char *format, ...) EX_PRINTF(2, 3);
lab_process *lab_start(lab_cell *c, const char *name, const lab_arguments *a, bool workers);
bool lab_start_again(lab_cell *c, lab_process *p, const lab_arguments *a);
bool lab_hear(lab_cell *c, lab_process *p);
bool lab_port_of(lab_cell *c, const lab_process *p, int32_t *out);
bool lab_listens(lab_cell *c, lab_process *p, int32_t port);
void lab_end(lab_process *p, int signal);

/* ---- hosts.c --------------------------------------------------------------------------------------------------- */

/* Whether a host is there, by the files that it needs. False: why says what is missing. */
bool lab_host_there(const lab *l, lab_host host, char *why, size_t size);
/* The k-th balancer of a cell, with its companion. */
bool lab_host_start(lab_cell *c, int32_t k);
ex_path lab_host_folder(const lab_cell *c, int32_t k); /* of its files; removed with the cell */
bool lab_host_do(lab_cell *c, lab_deed deed);
/* Processor time so far of the balancers, of their companions. */
void lab_host_used(const lab_cell *c, double *hosts_s, double *companions_s);

/* Real servers for the scenes of LAB_APACHE: started once for all cells, ended with the program however that ends.
   False: scene->skipped says why. */
bool lab_apache_start(lab *l, lab_scene *scene);
void lab_apache_stop(void);
int32_t lab_apache_port(int32_t server);
/* One that nobody has now; with *held, a socket (-1: none), nobody but a server gets it until that is closed: servers
   share an address with sockets that do not listen. */
int32_t lab_free_port(int *held);
const char *lab_apache_target(void); /* what is asked for */

/* ---- figures.c --------------------------------------------------------------------------------------------------- */

/* Reads the logs of all that ran. False: said. */
bool lab_read(lab *l);
void lab_free(lab *l);

typedef enum lab_key {
    LAB_MEAN, LAB_P50, LAB_P90, LAB_P95, LAB_P99, LAB_P999, LAB_SD, LAB_CV, LAB_THROUGHPUT, LAB_LOST, LAB_KEYS,
    LAB_CORE, LAB_HELPER /* of LAB_COST only */
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
/* How far the share of one of equal servers was from that of all, in percent: the most over servers, runs and parts of
   these of so many seconds, and which. */
typedef struct lab_most {
    double percent;
    int32_t server, repeat, span;
} lab_most;
lab_most lab_uneven(const lab *l, int32_t scene, int32_t policy, double span_s);
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

enum { LAB_GOALS = 64 };
/* From the data alone. Met: the value is within the bound, and so is its interval where it has one; not shown: only
   one of both is. */
int32_t lab_goals(const lab *l, lab_goal out[LAB_GOALS]);

/* ---- report.c ------------------------------------------------------------------------------------------------ */

int32_t lab_first(const lab *l, int32_t scene); /* policy that a scene's table compares with */
bool lab_ran(const lab *l, lab_part part);
bool lab_report(const lab *l); /* all files */
void lab_print(const lab *l);

/* ---- pictures.c ---------------------------------------------------------------------------------------------- */

bool lab_draw(const lab *l);

#endif
