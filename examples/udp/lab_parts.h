/* lab_parts.h - what the parts of the lab know of each other

   lab.c           settings, the runs, main
   lab_stage.c     what they stand on: hosts in network namespaces, CPU quotas, processes, and the end of all of it
   lab_findings.c  figures of the runs, report, results, pictures */

#ifndef UL_LAB_PARTS_H
#define UL_LAB_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common.h"

enum { UL_CLIENTS = 3, UL_POLICIES = 12, UL_REPEATS = 64, UL_BINS = 2400, UL_WHY = 300 };

/* ---- the stage --------------------------------------------------------------------------------------------------- */

/* The addresses of the published setting; on loopback all hosts are this one. */
typedef enum ul_host { UL_SERVER, UL_CLIENT_1, UL_CLIENT_2, UL_CLIENT_3, UL_OUTSIDE, UL_SWITCH, UL_HOSTS } ul_host;

typedef struct ul_arguments {
    char text[64][1100];
    char *list[65];
    int32_t count;
    bool full;
} ul_arguments;

void ul_add(ul_arguments *a, const char *format, ...) EX_PRINTF(2, 3);

typedef struct ul_process {
    char name[24];
    pid_t pid;      /* 0: none, or it has ended */
    int status;     /* of waitpid, once it has */
    int from;       /* its standard output, which never blocks; -1: none */
    char line[400]; /* what was heard last */
    int32_t used, client; /* client: whose quota and figures it counts in; -1: nobody's */
    ex_path said;   /* its standard error */
} ul_process;

/* cpus: what each client has of one processor. Namespaces if this process may have them, unless loopback; quotas if it
   may set them. False: said. */
bool ul_stage_open(bool loopback, const double cpus[UL_CLIENTS]);
/* Ends whatever runs, removes whatever was made. */
void ul_stage_close(void);
bool ul_stage_spaces(void);
bool ul_stage_quotas(void);
const char *ul_stage_why(void);    /* not, or "" */
const char *ul_stage_folder(void); /* for files of one run of the program */
const char *ul_address(ul_host host);
int32_t ul_free_port(void); /* where all hosts are one */
int ul_connect(ul_host from, ul_host to, int32_t port); /* TCP; -1 */

/* Starts a program on a host. False: said. */
bool ul_start(ul_process *p, const char *name, ul_host host, int32_t client, const ul_arguments *a);
/* The same for a function of ours, in a process of its own. */
bool ul_start_function(ul_process *p, const char *name, int32_t client, void (*run)(void));
/* The next line of its output if it is there: 1; 0 not yet; -1 there will be none. */
int32_t ul_hear(ul_process *p);
bool ul_over(ul_process *p);
/* Asks it to end, insists after five seconds, and waits. True: it ended well. */
bool ul_end(ul_process *p);
void ul_kill(ul_process *p);
/* "NAME ended with status 1; its last words" */
void ul_last_words(const ul_process *p, char out[UL_WHY]);

/* What a client has used so far: seconds of processor time, bytes of memory now, bytes in and out. */
typedef struct ul_use {
    double cpu_s, memory, in, out;
} ul_use;
void ul_client_use(int32_t client, ul_use *out);
/* Where its agent reads: stat, meminfo and net/dev, as a machine of so much CPU and memory would have them. */
bool ul_proc_write(int32_t client, const ul_use *use, double memory_bytes);
const char *ul_proc_folder(int32_t client);
void ul_client_counters(int32_t client, double in, double out); /* on loopback: what its network has carried */

/* ---- the runs ---------------------------------------------------------------------------------------------------- */

#define UL_STEP_S 0.5 /* one bin of a run */

typedef struct ul_bin { /* of datagrams meant to go out in it */
    double count, mean_ms; /* how many had their client (or their answer), and after how long */
} ul_bin;

typedef struct ul_run {
    bool done;
    ul_bin client[UL_CLIENTS][UL_BINS], answers[UL_BINS];
    struct {
        double at_s, share[UL_CLIENTS]; /* used of its quota */
    } cpu[UL_BINS];
    int32_t cpu_count;
    double sent, answered, lost, duplicates, reordered, damaged, p50_ms, p99_ms, mean_ms;
    /* Figures, by lab_findings.c: of the loaded client's share, and of all delays; before, while, after. */
    double shares[3][UL_CLIENTS], delay_ms[3], leave_s, return_s /* NaN: never */, used;
} ul_run;

typedef struct ul_lab {
    const ex_program *program;
    const char *out, *bin, *model, *database;
    char model_path[1100], model_words[200];
    char policy[UL_POLICIES][32];
    int32_t policies, repeats, loaded, burners, senders;
    double rate, load, cpus, phase_s[3], interval_s, poll_s, life_s, memory;
    double quota[UL_CLIENTS], work_us;
    uint64_t seed;
    bool quick, loopback, quiet;
    ul_run *runs; /* [policies][repeats] */
} ul_lab;

static inline ul_run *ul_run_of(const ul_lab *l, int32_t policy, int32_t repeat)
{
    return &l->runs[policy * l->repeats + repeat];
}

static inline double ul_total_s(const ul_lab *l)
{
    return l->phase_s[0] + l->phase_s[1] + l->phase_s[2];
}

/* Figures of one run. */
void ul_judge(const ul_lab *l, ul_run *r);
/* Tables on stdout, report.md, results.json, metrics.png, shares.png, delays.png. False: said. */
bool ul_report(const ul_lab *l);

#endif
