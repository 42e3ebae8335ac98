/* cluster.h - what train and stress_test share: a cluster as options describe it, models, and the judging of policies

   Judging: every policy meets the same episodes, environment e of the cluster drawing from stream JUDGE + e of the
   seed, whatever the policy does. So the returns of two policies are compared episode by episode. Training draws from
   streams below EX_STREAM_CHECK and never sees an episode that it is judged by.

   Uses all three headers; one file of the program (this one's .c) holds their implementation. */

#ifndef EX_CLUSTER_H
#define EX_CLUSTER_H

#include "common.h"
#include "rllb.h"
#include "rllb_env.h"
#include "rllb_nn.h"

/* Streams of a seed: for training, to choose among the networks of a run, and for the final word. */
#define EX_STREAM_TRAIN 0u
#define EX_STREAM_CHECK ((uint64_t)1 << 40)
#define EX_STREAM_JUDGE ((uint64_t)2 << 40)

/* The names of enums as a table of options wants them. */
extern const char *const ex_mode_names[], *const ex_traffic_names[];

/* ---- the world ----------------------------------------------------------------------------------------------- */

typedef struct ex_world {
    int32_t mode;           /* rllb_env_mode */
    ex_list rates;          /* of the servers; empty: the three of the mode */
    const char *trace_path; /* NULL: none */
    /* Set by open: */
    rllb_env_trace *trace;
    float rate[EX_LIST_MAX];
    int32_t servers;
    double mean_arrival; /* not of the trace */
} ex_world;

/* Reads the trace, if any. False: said on stderr, file and line. */
bool ex_world_open(ex_world *w);
void ex_world_close(ex_world *w);
/* One environment of it; the caller sets environments, seed, stream as need be. */
rllb_env_cluster_desc ex_world_desc(const ex_world *w, rllb_env_traffic traffic);
/* "0.05,0.1,0.15" */
const char *ex_rates_text(const float *rates, int32_t servers, char out[512]);

/* ---- judging ------------------------------------------------------------------------------------------------- */

/* How a policy fared. Loads are those after the drain, over all steps taken: mean of their means, mean of their
   standard deviations, 99th percentile of all. */
typedef struct ex_score {
    char name[64];
    int32_t episodes;
    double *returns, *dropped; /* [episodes]; the share of the arrived work that was dropped */
    double mean_return, return_ci95, mean_length, survival; /* share of episodes that the world did not end early */
    double overloads;          /* steps with overload, per episode */
    double dropped_share, mean_load, load_std, p99_load;
} ex_score;

/* What a network sees, [environments][inputs]: one load per server and, if inputs is one more, the work that came in
   the step before (0 at the start of an episode). */
void ex_observe(const rllb_env_cluster *env, int32_t environments, int32_t servers, int32_t inputs, float *out);

/* What decides in one judging: a network, or a classical policy where net is NULL. */
typedef struct ex_judged {
    const char *name;
    const rllb_nn_net *net;
    rllb_policy_kind kind;
} ex_judged;

/* Plays `episodes` episodes of `world`, streams from `stream` on of `seed`. False: said on stderr. */
bool ex_judge(const rllb_env_cluster_desc *world, const ex_judged *who, int32_t episodes, uint64_t seed,
              uint64_t stream, ex_score *out);
void ex_score_free(ex_score *s);

/* Mean of a - b, episode by episode, and half the width of its 95 % confidence interval. */
typedef struct ex_difference {
    double mean, ci95;
} ex_difference;

ex_difference ex_returns_differ(const ex_score *a, const ex_score *b);
ex_difference ex_dropped_differ(const ex_score *a, const ex_score *b);

/* ---- networks ------------------------------------------------------------------------------------------------ */

typedef struct ex_network {
    rllb_nn_net *net;
    int32_t servers;   /* it picks one of */
    bool sees_arrival; /* besides their loads */
    char env[16], traffic[16], algo[16], rates[512]; /* what it was trained for; empty: the file does not say */
} ex_network;

/* Reads a network whose inputs are as ex_observe makes them. False: said on stderr, naming the file. */
bool ex_network_read(const char *path, rllb_nn_isa isa, bool portable, ex_network *out);
void ex_network_free(ex_network *m);
/* The numbers of a network out of the file it was made for. False: why says what is wrong with them. */
enum { EX_NET_WHY = 300 };
bool ex_net_fill(rllb_nn_net *net, const ex_text *file, char why[EX_NET_WHY]);
/* A safetensors file: complete or not at all. False: said on stderr. */
bool ex_archive_write(const rllb_nn_archive *archive, const rllb_nn_meta *meta, int32_t metas, const char *path);

/* A logger that keeps the last detail: { ex_detail_log, &detail }. */
typedef struct ex_detail {
    char text[160];
} ex_detail;

void ex_detail_log(void *user, rllb_status status, const char *detail);

/* The first word in which two texts of settings differ, for who goes on with a checkpoint: "lr=0.02, not lr=0.01". */
void ex_setup_differ(const char *was, const char *is, char words[200]);

/* Kernels by name: "default", "generic", "sse2", ... in the order of rllb_nn_isa. */
extern const char *const ex_isa_names[];
/* Does this machine have them? If not, says so; option is "isa". */
bool ex_isa_there(int32_t isa, bool portable);

#endif
