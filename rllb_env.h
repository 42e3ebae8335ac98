/* rllb_env.h - v0.1.0 - the worlds of rllb: what a balancing policy learns in and is judged by

   A world says what happens when a request goes to a server. This file has the cluster, a Markov decision process of
   n servers that was published for three, with the published reward and with an honest one; it steps thousands of
   copies in one call. It has the flow-level world: request by request, many balancers over many servers, each balancer
   the very one that is embedded. And it has the metrics world, of an allocator that goes by the CPU, memory and network
   use that its clients report. Traffic is drawn from random streams or comes from a recorded trace, for which there is
   a reader. It includes rllb.h and needs the C library only; it opens no file, prints nothing and reads no clock.

   DO THIS
       in exactly one C or C++ file:     #define RLLB_IMPLEMENTATION
                                         #include "rllb_env.h"
       everywhere else:                  #include "rllb_env.h"
       and link with -lm.  RLLB_IMPLEMENTATION serves all three headers at once, in any order.

   A COMPLETE PROGRAM (compiled and run by the tests)

       #define RLLB_IMPLEMENTATION
       #include "rllb_env.h"
       #include <stdio.h>

       int main(void)
       {
           static unsigned char memory[4096], policy_memory[1024];
           rllb_env_cluster_desc desc;
           rllb_policy_desc rule;
           rllb_env_cluster *env;
           rllb_policy *policy;
           float reward, total = 0;
           uint8_t terminated = 0, truncated = 0;

           rllb_env_cluster_desc_default(&desc);
           desc.mode = RLLB_ENV_HONEST;
           desc.traffic = RLLB_ENV_BURSTY;
           desc.seed = 1;
           if (rllb_env_cluster_init(&desc, memory, sizeof memory, &env) != RLLB_OK) return 1;
           rllb_policy_desc_default(&rule);
           rule.kind = RLLB_POLICY_LEAST_LOAD;
           rule.servers = 3;
           if (rllb_policy_init(&rule, policy_memory, sizeof policy_memory, &policy) != RLLB_OK) return 1;
           while (!terminated && !truncated) {
               int32_t action = rllb_policy_choose(policy, rllb_env_cluster_observe(env));
               if (rllb_env_cluster_step(env, &action, &reward, &terminated, &truncated) < 0) return 1;
               total += reward;
           }
           printf("least load, one episode of bursty traffic: return %.1f\n", (double)total);
           return 0;
       }

   CONTENTS OF THE IMPLEMENTATION (search for the tag)
       >>number    text to numbers and calendar times, without locale
       >>csv       lines and fields
       >>trace     the trace reader, and traces cut into steps
       >>layout    descriptors resolved, the cluster carved
       >>kernel    one step of many environments
       >>state     the cluster as bytes and back
       >>cluster   the public functions of the cluster
       >>stations  flows in service: clocks, heaps of ends, the tournament
       >>arrivals  when flows come and what they bring
       >>life      a flow from its arrival to its end, and the loop over all events
       >>flows     the public functions of the flow-level world
       >>tenants   a client of the metrics world: who works there, what gets done, what is seen of it
       >>metrics   the public functions of the metrics world

   WORDS
       environment   one copy of the world with its own random stream; a cluster object holds E of them
       load          what a server has to do, 1 is all it can hold; observation = the loads, one per server
       arrival       the work that comes in one step, all of it for the server the action names
       drain         the work a server gets done in one step (its rate)
       terminated    the world ended the episode (the published cluster, on overload): nothing follows
       truncated     the clock ended the episode (the horizon): the world would have gone on, so bootstrap
       dropped       arrived work above the load of 1 that no server could hold
   and in the flow-level world
       flow          one request with its work, in seconds of one CPU at speed 1
       held          at a server, in service or waiting
       residual      the time a server takes for all the work it holds
       abandoned     still in the world though its client has given up
   and in the metrics world
       client        what a flow is allocated to: a machine with an agent on it that reports metrics
       sample        CPU, memory and network of a client at one moment, seen some time later
       tenant        who else works on a client

   CONFIGURATION, ERRORS   as in rllb.h.
   MEMORY     One block per object, sizes asked before, nothing allocated after init. Descriptors, traces and texts are
              read by size and init (create) only and may go afterwards; but the trace of a flow-level world stays.
   THREADS    rllb_env_cluster_size, rllb_env_trace_size, _step_s, _steps, _bin        const
              rllb_env_flows_size, rllb_env_law_*, rllb_env_event_*, rllb_env_fate_*   const
              rllb_env_flows_preset, _capacity, rllb_env_preset_*                      const
              rllb_env_metrics_size, rllb_env_metrics_mode_*                           const
              rllb_env_cluster_init, _create, rllb_env_trace_init, _create             setup
              rllb_env_flows_init, _create, _destroy                                   setup
              rllb_env_metrics_init, _create, _destroy                                 setup
              rllb_env_cluster_observe, _loads, _query and what else only looks        const between two steps
              rllb_env_metrics_observe, _query, _best and what else only looks         const between two steps
              rllb_env_cluster_step, _reset, _load, rllb_env_random_actions            owner
              rllb_env_metrics_step, _reset                                            owner
              rllb_env_flows_reset, _run, _step and all else of a world of flows       owner
   DETERMINISM  Environment e of a cluster draws from stream desc.stream + e of desc.seed. Its history depends on that
              stream and on its actions alone: not on E, on what the others do, on the compiler or the machine. In the
              kernel every product that meets a sum is exact in double precision, so that fused multiply-add, where a
              compiler chooses it, changes no bit; the square root is the correctly rounded one of IEEE 754.
              -ffast-math breaks this promise. A world of flows draws arrivals, phases, work, edge, keys, hops and
              faults from a stream each; it calls exp, log and pow, so its histories are the same, bit for bit, with the
              same library and compiler. So are those of the HONEST metrics world, which has streams as a cluster has;
              those of the ORIGINAL one are the same everywhere.
   COST       About 110 bytes an environment with three servers. bench/bench_env.c measures the steps per second; some
              hundreds of environments at a time keep the arrays in the first-level cache and the loops in step.
              An event of the flow-level world costs O(log of stations, flows in service, and flows on their way), and
              a flow takes two events, its pick and its end, when nothing travels and no samples are taken. It takes 128
              bytes a flow of flows_max, 16 for each that a server has active (and, with disks, holds), and what its
              balancers take. CPUs and disks run in virtual time: no flow is looked at between its start and its end.
              A step of the HONEST metrics world takes about 0.3 us with three clients, and 500 bytes an environment.
   LIMITS     4,096 servers, 2^24 environments, episodes of 2^30 steps, 2^28 steps of trace, 2^31 - 2 rows of trace;
              1,024 balancers, 65,536 CPUs a server, 64 stages, 2^24 flows at once, steps of a millisecond or more.

   Licence: MIT or public domain, as you like; full text at the end of the file. */

#ifndef RLLB_ENV_H
#define RLLB_ENV_H

#include "rllb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- traces ------------------------------------------------------------------------------------------------ */

/* What a row of a trace says: one request that arrived then and brings that much work (requests), or how much came in
   the interval that starts then (amounts: counts per minute and the like). */
typedef enum rllb_env_trace_kind {
    RLLB_ENV_TRACE_AUTO, /* descriptor only: by the name of the work column */
    RLLB_ENV_TRACE_REQUESTS,
    RLLB_ENV_TRACE_AMOUNTS,
    RLLB_ENV_TRACE_KIND_NUM
} rllb_env_trace_kind;

/* Zeroed is the default: columns are known by their names, upper or lower case alike, the first name of a list that
   the header line has wins.
       time   TIMESTAMP time time_s t_s t ts datetime date arrival_time arrival
       work   GeneratedTokens work query iterations service_time duration     a row is a request
              value count requests amount load                                a row is an amount
   A header without any of these is refused. A file without a header line is read if it has two columns. */
typedef struct rllb_env_trace_desc {
    const char *time_column; /* name in the header line; NULL: see above */
    const char *work_column;
    rllb_env_trace_kind kind;
} rllb_env_trace_desc;

/* Why a text was refused. line counts from 1 (0: the text as a whole), detail says what in words, ready for
   "file:line: detail". */
typedef struct rllb_env_trace_error {
    rllb_status status;
    int64_t line;
    char detail[120];
} rllb_env_trace_error;

/* A trace in memory. A program may also fill one by hand: only count, time_s, work and kind are read. */
typedef struct rllb_env_trace {
    int32_t count;            /* rows, at least one */
    rllb_env_trace_kind kind; /* REQUESTS or AMOUNTS */
    double *time_s;           /* [count] since the first row, never falling */
    double *work;             /* [count] at least 0, in the unit of the file; not all are 0 */
    double total;             /* sum of work */
    void *block;              /* what create allocated, NULL if the memory is the caller's */
} rllb_env_trace;

/* Reads a table of text: fields apart by commas, semicolons or tabs, "quoted" where need be, lines ended by LF or
   CR LF, the last one by either or nothing; blank lines and a UTF-8 byte-order mark are passed over.
       time   seconds as a number, or a calendar time such as 2023-11-16 18:17:03.9799600, 2014-04-10T00:04:00Z or
              with an offset +02:00; no offset means UTC. Never falling from row to row.
       work   a finite number not below 0, or a query with one: /dummy.php/?n=5478122
   Refused are (status): no rows, or no work in any row (EMPTY); a column that the header lacks (MISSING); times that
   run backwards (UNSORTED); numbers that are not finite (NOT_FINITE); a last line that breaks off (TRUNCATED); and
   all else that does not fit (FORMAT). error may be NULL. */
RLLB_API size_t rllb_env_trace_size(const void *text, size_t bytes); /* enough for any trace in this text; 0: none */
RLLB_API rllb_status rllb_env_trace_init(const rllb_env_trace_desc *desc, const void *text, size_t bytes, void *mem,
                                         size_t size, rllb_env_trace **out, rllb_env_trace_error *error);
/* size + malloc + init; NULL on failure */
RLLB_API rllb_env_trace *rllb_env_trace_create(const rllb_env_trace_desc *desc, const void *text, size_t bytes,
                                               rllb_env_trace_error *error);
RLLB_API void rllb_env_trace_destroy(rllb_env_trace *trace); /* only for what create made */

/* Seconds per step that suit the trace: the usual (median) distance of two rows if they are amounts, so that a row is
   a step; for requests the time in which RLLB_ENV_TRACE_PER_STEP of them come on average: with fewer, single requests
   overload a server and no policy can help; with many more the bursts average out. 1 if the trace takes no time. */
#define RLLB_ENV_TRACE_PER_STEP 4
RLLB_API double rllb_env_trace_step_s(const rllb_env_trace *trace);
/* How many steps of step_s (0: as above) cover the trace; 0 if they are too many or step_s is wrong. */
RLLB_API int32_t rllb_env_trace_steps(const rllb_env_trace *trace, double step_s);
/* The work that comes in each of the first `steps` steps, in the unit of the trace. */
RLLB_API rllb_status rllb_env_trace_bin(const rllb_env_trace *trace, double step_s, double *work, int32_t steps);

/* ---- the cluster ------------------------------------------------------------------------------------------- */

/* A step, in this order: an arrival x is drawn and lands on the server a that the action names, load[a] += x. What is
   above 1 is overload: it is cut off and counts as dropped. With the loads as they stand now,
       sd = their population standard deviation,   mx = the greatest of them,
       base = -2 sd - 50 max(0, mx - 0.8),
   the reward is
       SEED0    -50 if there was overload, and the episode is terminated; otherwise base       (as published)
       HONEST   base - dropped_penalty * dropped, and the episode goes on
   Then every load falls by its server's rate, not below 0: that is the observation. The step that reaches the horizon
   sets truncated; in SEED0 one step can set both flags.
   In SEED0 it pays to crash early when traffic is high; in HONEST every episode has the same length, and a server in
   trouble costs what it drops. (With 50 in place of 500 it pays to give one server up.) */
typedef enum rllb_env_mode { RLLB_ENV_SEED0, RLLB_ENV_HONEST, RLLB_ENV_MODE_NUM } rllb_env_mode;

/* The arrival of one step, for servers that drain 0.30 together (as the defaults do, however many servers there are);
   for rates of your own all but TRACE grow in proportion.
       LOW     U(0.20, 0.30)
       HIGH    U(0.30, 0.40): more than can be done
       BURSTY  U(0.20, 0.37) times 0.65 while quiet, times 1.35 while busy. An episode starts quiet; at the start of
               each step, the first included, quiet and busy change places with probability 0.1
       TRACE   what the trace brings in a step, times a factor that makes the mean over the whole trace trace_mean.
               An episode starts at a random step of the trace and goes on from its start when it ends */
typedef enum rllb_env_traffic {
    RLLB_ENV_LOW,
    RLLB_ENV_HIGH,
    RLLB_ENV_BURSTY,
    RLLB_ENV_TRACE,
    RLLB_ENV_TRAFFIC_NUM
} rllb_env_traffic;

typedef struct rllb_env_cluster_desc {
    rllb_env_mode mode;          /* default SEED0 */
    rllb_env_traffic traffic;    /* default LOW */
    int32_t environments;        /* E; default 1 */
    int32_t servers;             /* n; default 3 */
    const float *rates;          /* [servers], finite and > 0; copied. NULL: SEED0 0.30 / n each; HONEST evenly spaced
                                    from half of that to one and a half of it: 0.05, 0.10, 0.15 for three */
    int32_t horizon;             /* steps to an episode; default 100 */
    float dropped_penalty;       /* HONEST; default 500, > 0 */
    const rllb_env_trace *trace; /* TRACE: must be there */
    double trace_step_s;         /* TRACE: seconds per step; default rllb_env_trace_step_s */
    float trace_mean;            /* TRACE: mean arrival per step; default 0.95 of what all servers drain together,
                                    which is as much as BURSTY brings */
    uint64_t seed, stream;       /* environment e draws from stream + e */
    bool auto_reset;             /* an environment whose episode ends starts the next one in the same step */
} rllb_env_cluster_desc;

typedef struct rllb_env_cluster rllb_env_cluster;

RLLB_API void rllb_env_cluster_desc_default(rllb_env_cluster_desc *desc);   /* all zero, which is a valid one */
RLLB_API size_t rllb_env_cluster_size(const rllb_env_cluster_desc *desc); /* bytes; 0 if the descriptor is wrong */
RLLB_API rllb_status rllb_env_cluster_init(const rllb_env_cluster_desc *desc, void *mem, size_t size,
                                           rllb_env_cluster **out);
RLLB_API rllb_env_cluster *rllb_env_cluster_create(const rllb_env_cluster_desc *desc); /* NULL on failure */
RLLB_API void rllb_env_cluster_destroy(rllb_env_cluster *c);                           /* only for what create made */

/* A new episode in every environment; the random streams go on, the totals below start anew. Init has done it once. */
RLLB_API void rllb_env_cluster_reset(rllb_env_cluster *c);
/* The same, with the random streams at the start of another seed: as if newly made with it. Two policies that are
   reset to the same seed meet the same arrivals, whatever they do. */
RLLB_API void rllb_env_cluster_reset_seed(rllb_env_cluster *c, uint64_t seed, uint64_t stream);
/* A new episode in one environment; -1 if there is no such environment, otherwise 0. */
RLLB_API int32_t rllb_env_cluster_reset_one(rllb_env_cluster *c, int32_t e);

/* One step of all environments: actions[E] in; rewards[E], terminated[E], truncated[E] (0 or 1) out. Returns how many
   episodes ended in this step; -1, with nothing changed, if an action is out of range or a pointer NULL.
   Without auto_reset an environment whose episode has ended stands still until it is reset: reward 0, its flags stay
   up, its random stream rests, and it is not counted again. Its action must be in range all the same. */
RLLB_API int32_t rllb_env_cluster_step(rllb_env_cluster *c, const int32_t *actions, float *rewards,
                                       uint8_t *terminated, uint8_t *truncated);

/* Observations as rows [E][n], valid until the object goes. observe: what to act on next. observe_next: what the last
   step led to, the s' of (s, a, r, s'). They differ only where auto_reset has begun a new episode (observe: its first
   observation; observe_next: the last one of the old), and are one array without auto_reset. */
RLLB_API const float *rllb_env_cluster_observe(const rllb_env_cluster *c);
RLLB_API const float *rllb_env_cluster_observe_next(const rllb_env_cluster *c);

/* Of the last step, per environment: [E]. Zero before the first. */
RLLB_API const float *rllb_env_cluster_arrival(const rllb_env_cluster *c);
RLLB_API const float *rllb_env_cluster_dropped(const rllb_env_cluster *c);
/* Totals since init or the last reset, which automatic resets do not touch: [E]. overloads counts steps. */
RLLB_API const double *rllb_env_cluster_arrived_total(const rllb_env_cluster *c);
RLLB_API const double *rllb_env_cluster_dropped_total(const rllb_env_cluster *c);
RLLB_API const int64_t *rllb_env_cluster_overloads(const rllb_env_cluster *c);
/* Steps taken in the present episode: [E]. */
RLLB_API const int32_t *rllb_env_cluster_steps(const rllb_env_cluster *c);
/* The loads of environment e between arrival and drain of its last step, cut at 1: those the reward saw. load[n];
   -1 if there is no such environment, otherwise 0. */
RLLB_API int32_t rllb_env_cluster_loads(const rllb_env_cluster *c, int32_t e, float *load);
/* The descriptor with every default filled in; rates point into the object, trace is NULL. */
RLLB_API void rllb_env_cluster_query(const rllb_env_cluster *c, rllb_env_cluster_desc *desc);
/* Expected arrival of a step, and of that over what the servers drain together. */
RLLB_API double rllb_env_cluster_mean_arrival(const rllb_env_cluster *c);
RLLB_API double rllb_env_cluster_mean_utilisation(const rllb_env_cluster *c);

/* The whole state as bytes that are the same on every machine, for a run to be taken up later: save into
   mem[state_size], load into an object made with the same descriptor (seed and stream may differ: they are part of
   what is loaded). load refuses and changes nothing if the bytes end early (TRUNCATED), are damaged or not such a
   state (FORMAT), or belong to another descriptor (SHAPE). */
RLLB_API size_t rllb_env_cluster_state_size(const rllb_env_cluster *c);
RLLB_API rllb_status rllb_env_cluster_save(const rllb_env_cluster *c, void *mem, size_t size);
RLLB_API rllb_status rllb_env_cluster_load(rllb_env_cluster *c, const void *mem, size_t size);

/* "honest", "bursty" and back; -1 and NULL for what is none. */
RLLB_API const char *rllb_env_mode_name(rllb_env_mode mode);
RLLB_API int32_t rllb_env_mode_of(const char *name);
RLLB_API const char *rllb_env_traffic_name(rllb_env_traffic traffic);
RLLB_API int32_t rllb_env_traffic_of(const char *name);

/* count actions in [0, n), uniform up to n / 2^32, two to a draw: the random policy for many environments. */
RLLB_API void rllb_env_random_actions(rllb_rng *r, int32_t n, int32_t *actions, int32_t count);

/* ---- flows ------------------------------------------------------------------------------------------------- */

/* The flow-level world: requests arrive at one of m balancers at random, as an ECMP edge spreads them; that balancer,
   the very rllb_balancer that is embedded, picks one of n servers; the server works them off; the balancer hears of
   the end. A balancer sees its own flows only. Simulated time, one event after the other.

   A server has `cpus` and serves at most `active` flows at once, each at speed * min(1, cpus / active ones); the
   others wait in order; at most `most` are held, one more is rejected. active = cpus is a queue with as many slots,
   first come, first served; more is processor sharing. A flow may alternate between the CPUs and the server's one
   disk, which all flows that want it share. */
typedef struct rllb_env_server_desc {
    int32_t cpus;   /* 1 ... 65536; default 1 */
    int32_t active; /* at least cpus; default cpus */
    int32_t most;   /* at least active; default: flows_max */
    float speed;    /* work done per second and CPU; default 1 */
    float weight;   /* what the balancers are told; default cpus */
    bool absent;    /* down at the balancers until an event has it join */
} rllb_env_server_desc;

/* How work is distributed; what `spread` is:
       EXPONENTIAL, SAME   nothing
       NORMAL, LOGNORMAL   standard deviation / mean, default 0.25 and 1; normal is cut at 0
       UNIFORM             half width / mean, at most 1; default 1
       PARETO              shape, above 1; default 1.5: infinite variance */
typedef enum rllb_env_law {
    RLLB_ENV_EXPONENTIAL,
    RLLB_ENV_SAME,
    RLLB_ENV_NORMAL,
    RLLB_ENV_LOGNORMAL,
    RLLB_ENV_UNIFORM,
    RLLB_ENV_PARETO,
    RLLB_ENV_LAW_NUM
} rllb_env_law;

typedef enum rllb_env_event_kind {
    RLLB_ENV_EVENT_SPEED, /* CPUs and disk work at value times their speed from now on; 0: they stop */
    RLLB_ENV_EVENT_FAIL,  /* a share `value` of what reaches the server fails soon (fail_s), the rest is served */
    RLLB_ENV_EVENT_BACK,  /* full speed, no failures */
    RLLB_ENV_EVENT_JOIN,  /* a server that was absent or has left is there: the balancers take it into service */
    RLLB_ENV_EVENT_LEAVE, /* no new flows: the balancers drain it */
    RLLB_ENV_EVENT_RATE,  /* arrivals come at value times the rate (server is not looked at) */
    RLLB_ENV_EVENT_NUM
} rllb_env_event_kind;

typedef struct rllb_env_event {
    double at_s; /* never falling from one to the next */
    rllb_env_event_kind kind;
    int32_t server;
    double value; /* SPEED and RATE: at least 0; FAIL: 0 ... 1; else not looked at */
} rllb_env_event;

/* What arrives: a Poisson process; or a Markov-modulated one, rate times burst[0] and times burst[1] in turn for
   exponential times of means burst_s[0] and burst_s[1]; or a trace: requests at their times with their work, scaled
   to means of `rate` and work_s, or amounts as Poisson rates, scaled to a mean of `rate`. A trace that ends begins
   anew. Events of the rate stretch or shrink the times of all of these.

   Policies that listen to servers are told by the world: AWCMP and C3 once per step how many are held, AWCMP divided by
   the CPUs; PREQUAL has three servers probed at each pick, and hears how many are held and a guess of the latency: mean
   work plus residual. C3 has `clients` default to the balancers. */
typedef struct rllb_env_flows_desc {
    rllb_balancer_desc balancer; /* of each. Servers, capacity, interval, oracle, seed and stream are set by the world,
                                    the rest is yours; one worker, no shared block */
    int32_t balancers;           /* m, 1 ... 1024; default 1 */
    void *const *controls;       /* [balancers] control_self of each, for policies that remember; NULL: all have that
                                    of `balancer`. Copied; what they point to must last. A reset makes the balancers
                                    anew, but begins nothing of yours */
    const rllb_env_server_desc *servers; /* [count]; copied */
    int32_t count;               /* n, 1 ... 4096; no default */

    double rate;                 /* flows per second, of all balancers together. No default, but for a trace of
                                    requests its own */
    double burst[2], burst_s[2]; /* all zero: not modulated */
    const rllb_env_trace *trace; /* must outlive the world; not along with burst */
    double work_s;               /* mean work of a flow, in seconds of one CPU at speed 1; no default */
    rllb_env_law law;            /* default EXPONENTIAL; not looked at with a trace of requests */
    double spread;
    double io;                   /* share of the work that is the disk's, below 1; default 0 */
    int32_t stages;              /* with io: of CPU and disk in turn, at random lengths, 2 ... 64; default 2 */

    double hop_s[2];  /* client to balancer, balancer to server, and each way back: uniform between; default 0 */
    double timeout_s; /* the client gives up: the balancer hears of a failure at once, the server does not notice;
                         default 0: never */
    double reject_s;  /* until the word that a server rejected a flow leaves the server; default 0 */
    double fail_s;    /* mean of the exponential time after which one fails that fails; default 0.001 */
    double sample_s;  /* every running flow is sampled so often (rllb_balancer_sample); default 0: never */

    const rllb_env_event *events; /* [event_count]; copied */
    int32_t event_count;

    double step_s;     /* the balancers' interval and that of rllb_env_flows_step; default 0.25 */
    double horizon_s;  /* where an episode is truncated, in whole steps; default 60 */
    int32_t flows_max; /* in the world at once, 1 ... 2^24: those above find no room; default 65536 */
    uint64_t seed, stream;
} rllb_env_flows_desc;

/* How a flow ended for its client. */
typedef enum rllb_env_fate {
    RLLB_ENV_COMPLETED,
    RLLB_ENV_REJECTED, /* the server held as many as it can, or no server was usable */
    RLLB_ENV_FAILED,   /* by a server that fails what it gets */
    RLLB_ENV_TIMED_OUT,
    RLLB_ENV_NO_ROOM,  /* there were flows_max in the world; it never began, and counts as rejected too */
    RLLB_ENV_FATE_NUM
} rllb_env_fate;

/* Each flow once, when its client knows the end. Times in seconds since reset. */
typedef struct rllb_env_flow {
    double arrived_s, ended_s, work_s;
    int32_t balancer, server; /* server -1: none was picked */
    rllb_env_fate fate;
} rllb_env_flow;

typedef void (*rllb_env_flow_fn)(void *user, const rllb_env_flow *flow);

/* arrived = completed + rejected + failed + timed_out + in_flight, at every event. Flows that timed out may still be
   on their way or at a server, where they take up time and room: `abandoned` of them are. */
typedef struct rllb_env_flows_info {
    double now_s, duration_sum_s; /* of the completed */
    int64_t arrived, completed, rejected, failed, timed_out, in_flight, abandoned;
    int64_t no_room; /* of the rejected */
    int64_t events;
} rllb_env_flows_info;

typedef struct rllb_env_flows rllb_env_flows;

RLLB_API void rllb_env_flows_desc_default(rllb_env_flows_desc *desc); /* all zero */
RLLB_API size_t rllb_env_flows_size(const rllb_env_flows_desc *desc); /* bytes; 0 if the descriptor is wrong */
RLLB_API rllb_status rllb_env_flows_init(const rllb_env_flows_desc *desc, void *mem, size_t size,
                                         rllb_env_flows **out);
RLLB_API rllb_env_flows *rllb_env_flows_create(const rllb_env_flows_desc *desc); /* NULL on failure */
RLLB_API void rllb_env_flows_destroy(rllb_env_flows *w);                         /* only for what create made */
/* An empty world at time 0, with balancers that know nothing, as init has made it: the same seed gives the same
   history, bit for bit. Arrivals, their work and the balancers they come to depend on the seed and stream only, not on
   what balancers and servers do: policies are compared in pairs. */
RLLB_API rllb_status rllb_env_flows_reset(rllb_env_flows *w, uint64_t seed);
/* Hears of every end. It may look at the world, but not move it. NULL: nobody hears. */
RLLB_API void rllb_env_flows_listen(rllb_env_flows *w, rllb_env_flow_fn fn, void *user);
/* Runs to that time, what happens right then included; balancers tick every step_s. ERROR_ARGUMENT if it is not finite
   or over already. */
RLLB_API rllb_status rllb_env_flows_run(rllb_env_flows *w, double until_s);
/* When something happens next, which may turn out to be nothing. Running to that, and so on, stops at every event. */
RLLB_API double rllb_env_flows_next_s(const rllb_env_flows *w);
/* One step for m agents: their actions (NULL: they act by themselves; else rows for rllb_balancer_act,
   [balancers][actions]) come into force, time goes on to the next multiple of step_s, and each has an observation
   (rllb_balancer_observe) and a reward: its own in rewards[balancers], that of all (rllb_balancer_reward_shared) in
   *shared. All four out may be NULL. truncated at the horizon, terminated never: the world has no end of its own. With
   actions the status is that of the first one refused: that balancer keeps its weights, time goes on all the same.
   ERROR_STATE, with nothing changed: past the horizon. */
RLLB_API rllb_status rllb_env_flows_step(rllb_env_flows *w, const float *actions, int32_t count, double *rewards,
                                         double *shared, bool *terminated, bool *truncated);
/* To observe, to ask, to change: rllb_balancer_server and so on. NULL if there is no such one. */
RLLB_API rllb_balancer *rllb_env_flows_balancer(rllb_env_flows *w, int32_t balancer);
RLLB_API void rllb_env_flows_query(const rllb_env_flows *w, rllb_env_flows_info *out);
/* The state behind the balancers' views. A server's: flows held; flows on its CPUs; and the seconds that its own work
   takes yet at full speed, on all CPUs and then on the disk. Each may be NULL. */
RLLB_API rllb_status rllb_env_flows_server(const rllb_env_flows *w, int32_t server, int32_t *held, int32_t *running,
                                           double *residual_s);
/* The same of all servers as one array, for a critic or mixer that is trained centrally: of each its flows held, those
   on its CPUs, the residual seconds, and the work it does per second now (CPUs * speed; 0: stopped). Returns how many
   numbers that are, RLLB_ENV_FLOWS_STATE each server; state may be NULL. */
#define RLLB_ENV_FLOWS_STATE 4
RLLB_API int32_t rllb_env_flows_state(const rllb_env_flows *w, float *state);
/* "lognormal", "join", "timed_out" and back; NULL and -1 for what is none. */
RLLB_API const char *rllb_env_law_name(rllb_env_law law);
RLLB_API int32_t rllb_env_law_of(const char *name);
RLLB_API const char *rllb_env_event_name(rllb_env_event_kind kind);
RLLB_API int32_t rllb_env_event_of(const char *name);
RLLB_API const char *rllb_env_fate_name(rllb_env_fate fate);

/* Worlds with a name to begin with. All are of one class of requests.
       SEED4_A   "seed4-a"   1 balancer over a server of 4 CPUs and one of 2, each flow 100 ms, first come first served,
                             at most 65 held, the word of a reject after 40 s, hops of 0.1 to 1 ms; load 0.8
                             (Reinforced Workload Distribution Fairness: Table A)
       SEED4_B   "seed4-b"   2 balancers over 4 servers, 4 and 2 CPUs in turn, exponential work of 200 ms, else the
                             same; load 0.7 (its Table B). The table behind `servers` has eight: raise `count` to 8
       MODERATE  "moderate"  2 balancers over 4 servers of 2 CPUs and 3 of 4, processor sharing of at most 32, 128 more
                             may wait; 731.5/s (CIKM'22). Its work is not published. Ours is 23.8 ms, exponential: then
                             the seven published rates from 687 to 796.3/s are 82 to 95 % of what the CPUs can do, and
                             80 to 95 % is what the paper says; the two lowest, 519 and 521/s, are 62 %
       LARGE     "large"     6 balancers over 12 servers of 4 CPUs and 12 of 8, exponential work of 200 ms, sharing as
                             above; 419.3/s (CIKM'22). Published are 391.5 to 436.7/s as 80 to 95 %, which fits neither
                             144 CPUs (720/s) nor the 72 that the released configuration has (360/s). Here each of 144
                             has speed 0.65, as two that share a core might: 84 to 93 % of 468/s
       DEGRADED  "degraded"  1 balancer over 4 servers with 2 slots and 3 with 4, first come, first served, exponential
                             work of 25 ms; the first of each kind runs at speed 0.3, and its weight does not say so;
                             520/s, load 0.82
       FLEET     "fleet"     6 balancers over 12 servers of 4 CPUs and 12 of 8, speeds 0.6, 1 and 1.5 in turn, which the
                             weights do not say; exponential work of 200 ms, sharing as above; 627/s, load 0.84 */
typedef enum rllb_env_preset {
    RLLB_ENV_PRESET_SEED4_A,
    RLLB_ENV_PRESET_SEED4_B,
    RLLB_ENV_PRESET_MODERATE,
    RLLB_ENV_PRESET_LARGE,
    RLLB_ENV_PRESET_DEGRADED,
    RLLB_ENV_PRESET_FLEET,
    RLLB_ENV_PRESET_NUM
} rllb_env_preset;

/* A complete descriptor, for you to change; its servers are a constant table. ERROR_ARGUMENT: there is no such one. */
RLLB_API rllb_status rllb_env_flows_preset(rllb_env_preset preset, rllb_env_flows_desc *desc);
/* Flows per second that the servers can do, without those absent at first: of each the less of what its CPUs
   and its disk can. A rate above that lets queues grow for ever. 0 if the descriptor is wrong; its rate may be 0. */
RLLB_API double rllb_env_flows_capacity(const rllb_env_flows_desc *desc);
/* "seed4-a" and back; NULL and -1 for what is none. */
RLLB_API const char *rllb_env_preset_name(rllb_env_preset preset);
RLLB_API int32_t rllb_env_preset_of(const char *name);

/* ---- metrics ------------------------------------------------------------------------------------------------- */

/* The world of an allocator that sees no request end. All it knows of its clients is what agents on them report: CPU,
   memory and network, each as a share of what the client has. A step is one flow to be given to a client.

   ORIGINAL is the world that a published allocator for UDP traffic was trained in: the observation is n rows of three
   numbers, uniform in [0, 1) and drawn anew at every step, whatever was done; the reward is minus the network number of
   the chosen client. Of n clients, random choice gets -1/2 a step and the best choice -1/(n + 1): with three clients
   and 200 steps -100 and -50. Nothing follows from an action, so this is a contextual bandit.

   HONEST is one where what is allocated has effects, and is seen late. In this order:
       arrival   a flow comes: CPU and network demand, each exponential; it goes to client a
       others    on every client a tenant that computes and one that transfers come and go, at exponential times; their
                 demands, while there, waver (Ornstein-Uhlenbeck)
       work      a client has so many cores and so much bandwidth for what its flows and its tenants want. What is too
                 much waits, up to buffer_s, and what does not fit there is lost. Memory above 0.9 makes it swap: it
                 computes slower, at memory full at a quarter of its speed
       delay     of the datagrams at a client: what waits over what gets done, for CPU and for network; and for each
                 hop_s / (1 - utilisation), at utilisations cut at 0.95
       reward    minus the mean, over all flows in service on all clients, of delay + loss_s * (share lost), in seconds
       decay     what a flow demands and holds dies away with the time constant service_s
       metrics   CPU and memory follow with their time constants. Every interval_s, at a time of its own, a client is
                 sampled: CPU and memory as they stand, network as the mean since the last sample. delay_s later the
                 sample is seen, or, with probability missed, never

   An observation has a row for each client: CPU, memory, network; and with five columns
       sent   flows given to it since its sample was taken, over the flows of an interval; at most 4
       age    time since its sample was taken, over interval_s; at most 4
   The last two are the allocator's own knowledge: without them it cannot tell what it did since. */
typedef enum rllb_env_metrics_mode {
    RLLB_ENV_METRICS_ORIGINAL,
    RLLB_ENV_METRICS_HONEST,
    RLLB_ENV_METRICS_MODE_NUM
} rllb_env_metrics_mode;

enum { RLLB_ENV_CPU, RLLB_ENV_MEMORY, RLLB_ENV_NETWORK, RLLB_ENV_SENT, RLLB_ENV_AGE, RLLB_ENV_METRICS_COLUMNS };

/* What a client has: cores, GB and MB/s, say. Only ratios between clients matter. Finite and > 0. */
typedef struct rllb_env_metrics_client {
    float cpu, memory, network;
} rllb_env_metrics_client;

/* All zero is a valid one. Floats and doubles: 0 is the default, negative is 0. Times are at most 1e6 seconds. */
typedef struct rllb_env_metrics_desc {
    rllb_env_metrics_mode mode;  /* default ORIGINAL */
    int32_t environments;        /* E; default 1 */
    int32_t clients;             /* n; default 3 */
    int32_t horizon;             /* steps to an episode; default 200 */
    int32_t columns;             /* 3 or 5 to a client; default: ORIGINAL 3 and no others, HONEST 5 */
    uint64_t seed, stream;       /* environment e draws from stream + e */
    bool auto_reset;             /* an environment whose episode ends starts the next one in the same step */

    /* The rest is for HONEST. */
    const rllb_env_metrics_client *capacity; /* [clients]; copied. NULL: cpu evenly from 2 to 4, memory 4, network
                                                evenly from 100 to 50: who computes fast is not who sends fast */
    float load[3];           /* what the flows demand in the mean, as a share of all CPU, memory and network there is;
                                default 0.35, 0.25, 0.35 */
    float base_memory;       /* share of a client's memory that is always taken; default 0.4 */
    float tenant[3];         /* share of a client that a tenant takes while there: the one that computes its CPU and
                                memory, the one that transfers its network; default 0.6, 0.3, 0.6 */
    double tenant_on_s, tenant_off_s; /* mean times of being there and not; default 10 and 20; > 0 */
    float noise;             /* deviation of what a tenant takes, there or not, as a share of a client; default 0.05 */
    double noise_s;          /* how long it wavers one way; default 5; > 0 */
    double step_s;           /* from one flow to the next; default 0.25; > 0 */
    double service_s;        /* time constant of a flow; default 2; > 0 */
    double cpu_s, memory_s;  /* time constants of these metrics; default 1 and 10; negative: at once */
    double interval_s;       /* between two samples, 0.25 to 10 in practice; default 1; at least a step */
    double delay_s;          /* from sample to sight, at most interval_s; default 0.25 */
    float missed;            /* share of samples that get lost, below 1; default 0.02 */
    double buffer_s;         /* work that may wait, in seconds of a client's full speed; default 0.5 */
    double loss_s;           /* what losing a datagram costs, as seconds of delay; default 1 */
    double hop_s;            /* delay at an idle client, of CPU and of network each; default 0.002 */
} rllb_env_metrics_desc;

typedef struct rllb_env_metrics rllb_env_metrics;

RLLB_API void rllb_env_metrics_desc_default(rllb_env_metrics_desc *desc); /* all zero */
RLLB_API size_t rllb_env_metrics_size(const rllb_env_metrics_desc *desc); /* bytes; 0 if the descriptor is wrong */
RLLB_API rllb_status rllb_env_metrics_init(const rllb_env_metrics_desc *desc, void *mem, size_t size,
                                           rllb_env_metrics **out);
RLLB_API rllb_env_metrics *rllb_env_metrics_create(const rllb_env_metrics_desc *desc); /* NULL on failure */
RLLB_API void rllb_env_metrics_destroy(rllb_env_metrics *w);                           /* only for what create made */

/* A new episode in every environment; the random streams go on. Init has done it once. An episode starts with tenants
   as they are in the long run, no flows, and samples of just now. */
RLLB_API void rllb_env_metrics_reset(rllb_env_metrics *w);
/* The same at the start of the streams of another seed. Flows, tenants and the times of samples depend on seed and
   stream only, not on actions: policies are compared in pairs. */
RLLB_API void rllb_env_metrics_reset_seed(rllb_env_metrics *w, uint64_t seed, uint64_t stream);
/* One step of all environments: actions[E] in; rewards[E], truncated[E] (0 or 1) out. No episode ends but by the clock,
   so there is no `terminated`. Returns how many episodes ended in this step; -1, with nothing changed, if an action is
   out of range or a pointer NULL. Without auto_reset an environment whose episode has ended stands still. */
RLLB_API int32_t rllb_env_metrics_step(rllb_env_metrics *w, const int32_t *actions, float *rewards,
                                       uint8_t *truncated);
/* Observations as rows [E][n][columns]: what to act on next, and what the last step led to. They differ only where
   auto_reset has begun a new episode. */
RLLB_API const float *rllb_env_metrics_observe(const rllb_env_metrics *w);
RLLB_API const float *rllb_env_metrics_observe_next(const rllb_env_metrics *w);
/* Of the last step, per environment: [E]. What the HONEST reward is made of: mean delay in seconds, and mean share of
   datagrams lost. Zero in ORIGINAL. */
RLLB_API const float *rllb_env_metrics_delay(const rllb_env_metrics *w);
RLLB_API const float *rllb_env_metrics_lost(const rllb_env_metrics *w);
/* What nobody sees who is not told: client i of environment e as it is now. */
typedef struct rllb_env_metrics_state {
    float cpu, memory, network; /* shares in use in the last step */
    float flows;                /* of the allocator, in service: each counts 1 at first and decays */
    float waiting_s;            /* work that waits, CPU and network, in seconds of full speed */
    float delay_s, lost;        /* of its datagrams in the last step */
} rllb_env_metrics_state;
/* -1 if there is no such client, or the world is ORIGINAL; otherwise 0. */
RLLB_API int32_t rllb_env_metrics_query_client(const rllb_env_metrics *w, int32_t e, int32_t i,
                                               rllb_env_metrics_state *out);
/* The greedy choice of one who sees all: in HONEST the client where one more flow of mean size costs least until it
   has died away, if tenants stay as they are and no other flow comes; in ORIGINAL the least network. A mark to compare
   with, not a bound: it does not plan for what comes. -1 if there is no such environment. */
RLLB_API int32_t rllb_env_metrics_best(const rllb_env_metrics *w, int32_t e);
/* The descriptor with every default filled in (and 0 for negative); capacity points into the object, NULL in
   ORIGINAL. */
RLLB_API void rllb_env_metrics_query(const rllb_env_metrics *w, rllb_env_metrics_desc *desc);
/* "honest" and back; NULL and -1 for what is none. */
RLLB_API const char *rllb_env_metrics_mode_name(rllb_env_metrics_mode mode);
RLLB_API int32_t rllb_env_metrics_mode_of(const char *name);

#ifdef __cplusplus
}
#endif

#endif /* RLLB_ENV_H: stop here if you only use the API */

/* ================================================================================================================
   Implementation */
#if (defined(RLLB_IMPLEMENTATION) || defined(RLLB_STATIC)) && !defined(RLLB_ENV_I_DONE)
#define RLLB_ENV_I_DONE

#include <math.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#define RLLB_ENV_I_SSE2
#endif

/* C++ and pedantic C have no restrict; the compilers that can use the promise spell it like this. */
#if defined(__GNUC__) || defined(_MSC_VER)
#define RLLB_ENV_I_ALONE __restrict
#else
#define RLLB_ENV_I_ALONE
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RLLB_ENV_I_BLOCK = 64, /* environments the kernel takes at a time: their scratch stays in the first-level cache */
    RLLB_ENV_I_SERVERS_MAX = 4096,
    RLLB_ENV_I_ENVIRONMENTS_MAX = 1 << 24,
    RLLB_ENV_I_HORIZON_MAX = 1 << 30,
    RLLB_ENV_I_STEPS_MAX = 1 << 28
};

static int rllb_env_i_finite(double v)
{
    return v - v == 0;
}

/* ---- >>number ----------------------------------------------------------------------------------------------
   Text between two pointers to numbers and times. strtod would look for a NUL and heed the locale. */

static int rllb_env_i_lower(int ch)
{
    return ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch;
}

static int rllb_env_i_is_digit(int ch)
{
    return ch >= '0' && ch <= '9';
}

/* Does the text from p on begin with `word`, in small or capital letters? */
static int rllb_env_i_begins(const char *p, const char *end, const char *word)
{
    while (*word) {
        if (p == end || rllb_env_i_lower(*p++) != *word++) return 0;
    }
    return 1;
}

/* mantissa * 10^exponent. Exact up to one rounding where mantissa < 2^53 and |exponent| <= 22, which is what people
   write; a few roundings beyond. */
static double rllb_env_i_scale10(double mantissa, int exponent)
{
    double power = 1, factor = 10;
    int left = exponent < 0 ? -exponent : exponent;

    if (mantissa <= 0) return 0;
    if (left > 700) left = 700; /* 19 digits and 330 decimal orders fit in: surely infinite or zero */
    if (exponent < -300) { /* 10^left would overflow where the quotient need not */
        mantissa /= 1e150;
        mantissa /= 1e150;
        left -= 300;
        if (left > 300) return 0;
    }
    for (; left; left >>= 1, factor *= factor) {
        if (left & 1) power *= factor;
    }
    return exponent < 0 ? mantissa / power : mantissa * power;
}

/* Reads a decimal number from *at on and moves *at behind it. OK, FORMAT if there is none, NOT_FINITE for nan, inf
   and what overflows. */
static rllb_status rllb_env_i_number(const char **at, const char *end, double *out)
{
    const char *p = *at;
    uint64_t mantissa = 0;
    int digits = 0, exponent = 0, negative = 0, seen = 0, point = 0;

    if (p < end && (*p == '+' || *p == '-')) negative = *p++ == '-';
    if (rllb_env_i_begins(p, end, "nan") || rllb_env_i_begins(p, end, "inf")) return RLLB_ERROR_NOT_FINITE;
    for (; p < end && (rllb_env_i_is_digit(*p) || (*p == '.' && !point)); p++) {
        if (*p == '.') {
            point = 1;
            continue;
        }
        seen = 1;
        if (digits < 19) {
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
            digits += mantissa > 0;
            exponent -= point;
        } else if (exponent < 100000) {
            exponent += !point;
        }
    }
    if (!seen) return RLLB_ERROR_FORMAT;
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *q = p + 1;
        int value = 0, down = 0;
        if (q < end && (*q == '+' || *q == '-')) down = *q++ == '-';
        if (q == end || !rllb_env_i_is_digit(*q)) return RLLB_ERROR_FORMAT;
        for (; q < end && rllb_env_i_is_digit(*q); q++) {
            if (value < 100000) value = value * 10 + (*q - '0');
        }
        exponent += down ? -value : value;
        p = q;
    }
    *out = rllb_env_i_scale10((double)mantissa, exponent);
    if (negative) *out = 0 - *out;
    *at = p;
    return rllb_env_i_finite(*out) ? RLLB_OK : RLLB_ERROR_NOT_FINITE;
}

/* `digits` decimal digits, or -1. */
static int rllb_env_i_digits(const char **at, const char *end, int digits)
{
    int value = 0;

    for (; digits; digits--) {
        if (*at == end || !rllb_env_i_is_digit(**at)) return -1;
        value = value * 10 + (*(*at)++ - '0');
    }
    return value;
}

/* Days from 1970-01-01 in the Gregorian calendar: years are counted from March, so that the leap day is their last. */
static int64_t rllb_env_i_days(int year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

typedef struct rllb_env_i_time {
    int calendar;   /* else plain seconds */
    int64_t second; /* calendar: whole seconds since 1970, so that the fraction keeps its digits */
    double rest;    /* calendar: the fraction; otherwise the time */
} rllb_env_i_time;

/* YYYY-MM-DD, also with slashes; then nothing, or a blank or T and HH:MM, :SS, a fraction, a zone. */
static rllb_status rllb_env_i_calendar(const char *p, const char *end, rllb_env_i_time *out)
{
    static const unsigned char month_days[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day, hour = 0, minute = 0, second = 0, away = 0;
    int64_t fraction = 0;
    double unit = 1;
    char sign, dash;

    out->calendar = 1;
    out->rest = 0;
    year = rllb_env_i_digits(&p, end, 4);
    dash = p < end ? *p : ' ';
    if (year < 0 || (dash != '-' && dash != '/')) return RLLB_ERROR_FORMAT;
    p++;
    month = rllb_env_i_digits(&p, end, 2);
    if (month < 1 || month > 12 || p == end || *p++ != dash) return RLLB_ERROR_FORMAT;
    day = rllb_env_i_digits(&p, end, 2);
    if (day < 1 || day > month_days[month - 1]) return RLLB_ERROR_FORMAT;
    if (day == 29 && month == 2 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0))) return RLLB_ERROR_FORMAT;
    if (p < end) {
        if (*p != ' ' && *p != 'T' && *p != 't') return RLLB_ERROR_FORMAT;
        p++;
        hour = rllb_env_i_digits(&p, end, 2);
        if (hour < 0 || hour > 23 || p == end || *p++ != ':') return RLLB_ERROR_FORMAT;
        minute = rllb_env_i_digits(&p, end, 2);
        if (minute < 0 || minute > 59) return RLLB_ERROR_FORMAT;
        if (p < end && *p == ':') {
            p++;
            second = rllb_env_i_digits(&p, end, 2);
            if (second < 0 || second > 60) return RLLB_ERROR_FORMAT; /* 60: a leap second */
            if (p < end && *p == '.') {
                for (p++; p < end && rllb_env_i_is_digit(*p); p++) {
                    if (unit >= 1e15) continue; /* more digits than a double has */
                    fraction = fraction * 10 + (*p - '0');
                    unit *= 10;
                }
                out->rest = (double)fraction / unit;
            }
        }
        if (p < end && *p == ' ') p++;
        if (rllb_env_i_begins(p, end, "utc")) p += 3;
        else if (p < end && (*p == 'Z' || *p == 'z')) p++;
        else if (p < end && (*p == '+' || *p == '-')) {
            sign = *p++;
            away = rllb_env_i_digits(&p, end, 2) * 60;
            if (p < end && *p == ':') p++;
            if (p < end) {
                int minutes = rllb_env_i_digits(&p, end, 2);
                if (minutes < 0 || minutes > 59) return RLLB_ERROR_FORMAT;
                away += minutes;
            }
            if (away < 0 || away >= 24 * 60) return RLLB_ERROR_FORMAT;
            if (sign == '-') away = -away;
        }
    }
    out->second = ((rllb_env_i_days(year, month, day) * 24 + hour) * 60 + minute - away) * 60 + second;
    return p == end ? RLLB_OK : RLLB_ERROR_FORMAT;
}

static rllb_status rllb_env_i_time_read(const char *p, const char *end, rllb_env_i_time *out)
{
    rllb_status status;

    if (end - p >= 8 && (p[4] == '-' || p[4] == '/')) return rllb_env_i_calendar(p, end, out);
    out->calendar = 0;
    out->second = 0;
    status = rllb_env_i_number(&p, end, &out->rest);
    return status == RLLB_OK && p != end ? RLLB_ERROR_FORMAT : status;
}

/* A number that is the whole field, or the n=NUMBER of a query. */
static rllb_status rllb_env_i_work_read(const char *p, const char *end, double *out)
{
    const char *q = p;
    rllb_status status = rllb_env_i_number(&q, end, out);

    if (status == RLLB_ERROR_NOT_FINITE || (status == RLLB_OK && q == end)) return status;
    for (q = p; q + 2 < end; q++) {
        if ((*q == '?' || *q == '&') && q[1] == 'n' && q[2] == '=') {
            q += 3;
            status = rllb_env_i_number(&q, end, out);
            return status == RLLB_OK && q != end && *q != '&' && *q != ' ' && *q != '#' ? RLLB_ERROR_FORMAT : status;
        }
    }
    return RLLB_ERROR_FORMAT;
}

/* ---- >>csv -------------------------------------------------------------------------------------------------
   A text as lines, a line as fields; nothing is copied. */

typedef struct rllb_env_i_text {
    const char *at, *end;        /* what is not read yet */
    const char *line, *line_end; /* the present line without its end */
    int64_t number;              /* of the present line, from 1 */
    int closed;                  /* the present line had an end of line */
    char mark;                   /* between fields */
} rllb_env_i_text;

static void rllb_env_i_text_open(rllb_env_i_text *t, const void *text, size_t bytes)
{
    memset(t, 0, sizeof *t);
    t->at = (const char *)text;
    t->end = t->at + bytes;
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) t->at += 3;
}

/* The next line that is not blank; 0 at the end. */
static int rllb_env_i_text_line(rllb_env_i_text *t)
{
    while (t->at < t->end) {
        const char *feed = (const char *)memchr(t->at, '\n', (size_t)(t->end - t->at)), *p;
        t->line = t->at;
        t->line_end = feed ? feed : t->end;
        t->at = feed ? feed + 1 : t->end;
        t->closed = feed != NULL;
        t->number++;
        if (t->line_end > t->line && t->line_end[-1] == '\r') t->line_end--;
        for (p = t->line; p < t->line_end && (*p == ' ' || *p == '\t'); p++) {}
        if (p < t->line_end) return 1;
    }
    return 0;
}

/* The next field of the present line from *at on, without blanks and quotes around it. Moves *at behind the mark and
   to NULL after the last field. 1, 0 if there is no further field, -1 if a quote does not close. */
static int rllb_env_i_field(const rllb_env_i_text *t, const char **at, const char **first, const char **last)
{
    const char *p = *at, *end = t->line_end, *q;

    if (!p) return 0;
    while (p < end && *p == ' ') p++;
    if (p < end && *p == '"') {
        for (q = ++p; q < end && (*q != '"' || (q + 1 < end && q[1] == '"')); q++) q += *q == '"';
        if (q >= end) return -1;
        *first = p;
        *last = q;
        for (q++; q < end && *q == ' '; q++) {}
        if (q < end && *q != t->mark) return -1;
    } else {
        for (q = p; q < end && *q != t->mark; q++) {}
        *first = p;
        *last = q;
        while (*last > p && (*last)[-1] == ' ') (*last)--;
    }
    *at = q < end ? q + 1 : NULL;
    return 1;
}

static int rllb_env_i_same_name(const char *first, const char *last, const char *name)
{
    for (; first < last && *name; first++, name++) {
        if (rllb_env_i_lower(*first) != rllb_env_i_lower(*name)) return 0;
    }
    return first == last && !*name;
}

/* Where the column of that name stands in the present line; -1 if it is not there, -2 if a quote does not close. */
static int rllb_env_i_column(const rllb_env_i_text *t, const char *name)
{
    const char *at = t->line, *first = NULL, *last = NULL;
    int i, found;

    for (i = 0; (found = rllb_env_i_field(t, &at, &first, &last)) == 1; i++) {
        if (rllb_env_i_same_name(first, last, name)) return i;
    }
    return found < 0 ? -2 : -1;
}

/* ---- >>trace -----------------------------------------------------------------------------------------------
   Two passes over the text: one counts lines for the size, one reads. */

static rllb_status rllb_env_i_refuse(rllb_env_trace_error *error, rllb_status status, int64_t line, const char *words,
                                     const char *name, size_t name_bytes)
{
    size_t n = strlen(words);

    if (error) {
        error->status = status;
        error->line = line;
        memcpy(error->detail, words, n);
        if (name) {
            if (name_bytes > sizeof error->detail - n - 4) name_bytes = sizeof error->detail - n - 4;
            memcpy(error->detail + n, " \"", 2);
            memcpy(error->detail + n + 2, name, name_bytes);
            n += name_bytes + 2;
            error->detail[n++] = '"';
        }
        error->detail[n] = 0;
    }
    return status;
}

/* A field quoted in an error line: what cannot be printed is left out. */
static rllb_status rllb_env_i_refuse_field(rllb_env_trace_error *error, rllb_status status, int64_t line,
                                           const char *words, const char *first, const char *last)
{
    char shown[40];
    size_t n = 0;

    for (; first < last && n < sizeof shown; first++) {
        if (*first >= ' ' && *first < 127) shown[n++] = *first;
    }
    return rllb_env_i_refuse(error, status, line, words, shown, n);
}

static rllb_env_trace *rllb_env_i_trace_layout(size_t rows, rllb_carver *c)
{
    rllb_env_trace *t = (rllb_env_trace *)rllb_carve(c, 1, sizeof *t);
    double *time_s = (double *)rllb_carve(c, rows, sizeof(double));
    double *work = (double *)rllb_carve(c, rows, sizeof(double));

    if (t) {
        t->time_s = time_s;
        t->work = work;
    }
    return t;
}

static size_t rllb_env_i_rows(const void *text, size_t bytes)
{
    rllb_env_i_text t;
    size_t rows = 0;

    for (rllb_env_i_text_open(&t, text, bytes); rllb_env_i_text_line(&t);) rows++;
    return rows;
}

typedef struct rllb_env_i_columns {
    int time, work;
    const char *time_name, *work_name;
    rllb_env_trace_kind kind;
    int header; /* the first line is one */
} rllb_env_i_columns;

/* A first line of two fields, a time and work, is a row and not a header. */
static int rllb_env_i_is_row(const rllb_env_i_text *t)
{
    const char *at = t->line, *a = NULL, *a_end = NULL, *b = NULL, *b_end = NULL, *none = NULL, *none_end = NULL;
    rllb_env_i_time time;
    double work;

    return rllb_env_i_field(t, &at, &a, &a_end) == 1 && rllb_env_i_field(t, &at, &b, &b_end) == 1 &&
           rllb_env_i_field(t, &at, &none, &none_end) == 0 && rllb_env_i_time_read(a, a_end, &time) == RLLB_OK &&
           rllb_env_i_work_read(b, b_end, &work) == RLLB_OK;
}

/* Picks the columns from the present line, the header. */
static rllb_status rllb_env_i_columns_find(const rllb_env_trace_desc *d, rllb_env_i_text *t, rllb_env_i_columns *c,
                                           rllb_env_trace_error *error)
{
    static const char *const times[] = { "timestamp", "time", "time_s", "t_s", "t", "ts",
                                         "datetime", "date", "arrival_time", "arrival" };
    static const char *const works[] = { "generatedtokens", "work", "query", "iterations", "service_time",
                                         "duration", "value", "count", "requests", "amount", "load" };
    enum { TIMES = sizeof times / sizeof *times, WORKS = sizeof works / sizeof *works, FIRST_AMOUNT = 6 };
    size_t length = (size_t)(t->line_end - t->line);
    int i, amount = 0;

    if (length >= 2 && (memcmp(t->line, "\xFF\xFE", 2) == 0 || memcmp(t->line, "\xFE\xFF", 2) == 0)) {
        return rllb_env_i_refuse(error, RLLB_ERROR_FORMAT, t->number, "the text is UTF-16, not UTF-8", NULL, 0);
    }
    t->mark = memchr(t->line, '\t', length)  ? '\t'
              : memchr(t->line, ',', length) ? ','
              : memchr(t->line, ';', length) ? ';'
                                             : ',';
    c->time = c->work = -1;
    c->time_name = d->time_column ? d->time_column : "time";
    c->work_name = d->work_column ? d->work_column : "work";
    if (d->time_column) c->time = rllb_env_i_column(t, d->time_column);
    for (i = 0; !d->time_column && c->time == -1 && i < TIMES; i++) {
        c->time = rllb_env_i_column(t, times[i]);
        if (c->time >= 0) c->time_name = times[i];
    }
    if (d->work_column) c->work = rllb_env_i_column(t, d->work_column);
    for (i = 0; i < WORKS; i++) {
        if (!d->work_column && c->work == -1) {
            c->work = rllb_env_i_column(t, works[i]);
            if (c->work >= 0) c->work_name = works[i];
        }
        if (c->work >= 0 && rllb_env_i_same_name(works[i], works[i] + strlen(works[i]), c->work_name)) {
            amount = i >= FIRST_AMOUNT;
        }
    }
    if (c->time == -2 || c->work == -2) {
        return rllb_env_i_refuse(error, RLLB_ERROR_FORMAT, t->number, "a quote in the header does not close", NULL, 0);
    }
    c->header = 1;
    if (c->time < 0 && c->work < 0 && !d->time_column && !d->work_column && rllb_env_i_is_row(t)) {
        c->header = 0;
        c->time = 0;
        c->work = 1;
    }
    if (c->time < 0 || c->work < 0) {
        const char *name = c->time < 0 ? d->time_column : d->work_column;
        const char *words = name          ? "the header has no column"
                            : c->time < 0 ? "the header has no column of times that is known by its name"
                                          : "the header has no column of work that is known by its name";
        return rllb_env_i_refuse(error, RLLB_ERROR_MISSING, t->number, words, name, name ? strlen(name) : 0);
    }
    if (c->time == c->work) {
        return rllb_env_i_refuse(error, RLLB_ERROR_ARGUMENT, t->number, "time and work are the same column", NULL, 0);
    }
    c->kind = d->kind != RLLB_ENV_TRACE_AUTO ? d->kind : amount ? RLLB_ENV_TRACE_AMOUNTS : RLLB_ENV_TRACE_REQUESTS;
    return RLLB_OK;
}

/* Reads the present line, a row, into the trace. */
static rllb_status rllb_env_i_row(const rllb_env_i_text *t, const rllb_env_i_columns *c, rllb_env_trace *trace,
                                  rllb_env_i_time *origin, rllb_env_trace_error *error)
{
    const char *at = t->line, *first = NULL, *last = NULL;
    rllb_env_i_time when;
    rllb_status status;
    double time_s = 0, work = 0;
    int i, found, wanted = c->time > c->work ? c->time : c->work;

    for (i = 0; i <= wanted; i++) {
        found = rllb_env_i_field(t, &at, &first, &last);
        if (found < 0) {
            return rllb_env_i_refuse(error, RLLB_ERROR_FORMAT, t->number, "a quote does not close", NULL, 0);
        }
        if (!found) {
            const char *name = i <= c->time && (i > c->work || c->time < c->work) ? c->time_name : c->work_name;
            return rllb_env_i_refuse(error, t->closed ? RLLB_ERROR_FORMAT : RLLB_ERROR_TRUNCATED, t->number,
                                     t->closed ? "the row lacks the field of column"
                                               : "the last row breaks off before column",
                                     name, strlen(name));
        }
        if (i == c->time) {
            status = rllb_env_i_time_read(first, last, &when);
            if (status == RLLB_ERROR_NOT_FINITE) {
                return rllb_env_i_refuse_field(error, status, t->number, "the time is not finite:", first, last);
            }
            if (status != RLLB_OK || (trace->count && when.calendar != origin->calendar)) {
                return rllb_env_i_refuse_field(error, t->closed ? RLLB_ERROR_FORMAT : RLLB_ERROR_TRUNCATED, t->number,
                                               "this is not a time:", first, last);
            }
            if (trace->count == 0) *origin = when;
            time_s = (double)(when.second - origin->second) + (when.rest - origin->rest);
            if (!rllb_env_i_finite(time_s)) {
                return rllb_env_i_refuse_field(error, RLLB_ERROR_NOT_FINITE, t->number,
                                               "the time is too far from the first:", first, last);
            }
            if (time_s < 0 || (trace->count && time_s < trace->time_s[trace->count - 1])) {
                return rllb_env_i_refuse_field(error, RLLB_ERROR_UNSORTED, t->number,
                                               "this time is before that of the row above:", first, last);
            }
        }
        if (i == c->work) {
            status = rllb_env_i_work_read(first, last, &work);
            if (status == RLLB_ERROR_NOT_FINITE) {
                return rllb_env_i_refuse_field(error, status, t->number, "the work is not finite:", first, last);
            }
            if (status != RLLB_OK) {
                return rllb_env_i_refuse_field(error, first == last && !t->closed ? RLLB_ERROR_TRUNCATED : status,
                                               t->number, "this is not work, neither number nor query with n=:", first,
                                               last);
            }
            if (work < 0) {
                return rllb_env_i_refuse_field(error, RLLB_ERROR_FORMAT, t->number, "the work is negative:", first,
                                               last);
            }
        }
    }
    if (!rllb_env_i_finite(trace->total + work)) {
        return rllb_env_i_refuse(error, RLLB_ERROR_NOT_FINITE, t->number, "the sum of all work is not finite", NULL, 0);
    }
    trace->time_s[trace->count] = time_s;
    trace->work[trace->count] = work;
    trace->total += work;
    trace->count++;
    return RLLB_OK;
}

size_t rllb_env_trace_size(const void *text, size_t bytes)
{
    rllb_carver c = { NULL, 0 };
    size_t rows = text ? rllb_env_i_rows(text, bytes) : 0;

    if (rows == 0 || rows > INT32_MAX - 1) return 0;
    rllb_env_i_trace_layout(rows, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_env_trace_init(const rllb_env_trace_desc *desc, const void *text, size_t bytes, void *mem,
                                size_t size, rllb_env_trace **out, rllb_env_trace_error *error)
{
    static const rllb_env_trace_desc automatic = { NULL, NULL, RLLB_ENV_TRACE_AUTO };
    const rllb_env_trace_desc *d = desc ? desc : &automatic;
    rllb_carver c = { NULL, 0 };
    rllb_env_i_columns columns;
    rllb_env_i_time origin;
    rllb_env_i_text t;
    rllb_env_trace *trace;
    rllb_status status;
    size_t rows;

    if (error) memset(error, 0, sizeof *error);
    if (!out || !text || (int)d->kind < 0 || d->kind >= RLLB_ENV_TRACE_KIND_NUM) {
        return rllb_env_i_refuse(error, RLLB_ERROR_ARGUMENT, 0, "an argument is NULL or out of range", NULL, 0);
    }
    rows = rllb_env_i_rows(text, bytes);
    if (rows == 0) return rllb_env_i_refuse(error, RLLB_ERROR_EMPTY, 0, "there is no line of text", NULL, 0);
    if (rows > INT32_MAX - 1) {
        return rllb_env_i_refuse(error, RLLB_ERROR_ARGUMENT, 0, "there are too many rows", NULL, 0);
    }
    status = rllb_carver_open(&c, mem, size, rllb_env_trace_size(text, bytes));
    if (status != RLLB_OK) return rllb_env_i_refuse(error, status, 0, "the memory block is too small", NULL, 0);
    trace = rllb_env_i_trace_layout(rows, &c);
    memset(&columns, 0, sizeof columns);
    rllb_env_i_text_open(&t, text, bytes);
    rllb_env_i_text_line(&t);
    status = rllb_env_i_columns_find(d, &t, &columns, error);
    if (status != RLLB_OK) return status;
    trace->kind = columns.kind;
    memset(&origin, 0, sizeof origin);
    if (!columns.header) status = rllb_env_i_row(&t, &columns, trace, &origin, error);
    while (status == RLLB_OK && rllb_env_i_text_line(&t)) {
        status = rllb_env_i_row(&t, &columns, trace, &origin, error);
    }
    if (status != RLLB_OK) return status;
    if (trace->count == 0) {
        return rllb_env_i_refuse(error, RLLB_ERROR_EMPTY, t.number, "there is no row below the header", NULL, 0);
    }
    if (trace->total <= 0) return rllb_env_i_refuse(error, RLLB_ERROR_EMPTY, 0, "no row brings any work", NULL, 0);
    *out = trace;
    return RLLB_OK;
}

rllb_env_trace *rllb_env_trace_create(const rllb_env_trace_desc *desc, const void *text, size_t bytes,
                                      rllb_env_trace_error *error)
{
    size_t size = rllb_env_trace_size(text, bytes);
    void *block = size ? rllb_block_alloc(size) : NULL;
    rllb_env_trace *trace = NULL;

    if (size && !block) {
        rllb_env_i_refuse(error, RLLB_ERROR_MEMORY_SIZE, 0, "there is not enough memory", NULL, 0);
        return NULL;
    }
    if (rllb_env_trace_init(desc, text, bytes, block, size, &trace, error) == RLLB_OK) {
        trace->block = block;
        return trace;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_env_trace_destroy(rllb_env_trace *trace)
{
    if (trace) rllb_block_free(trace->block);
}

/* The usual distance of two neighbouring rows: the median of up to GAPS of them, evenly picked, so that no memory is
   needed. One of the distances as it is, not a mean of two: 300 s must come out as 300. */
static double rllb_env_i_usual_gap(const rllb_env_trace *t)
{
    enum { GAPS = 1024 };
    double gap[GAPS];
    int32_t i, k, all = t->count - 1, n = all < GAPS ? all : GAPS;

    for (i = 0; i < n; i++) { /* insertion sort */
        int32_t at = (int32_t)((int64_t)i * all / n);
        double g = t->time_s[at + 1] - t->time_s[at];
        for (k = i; k > 0 && gap[k - 1] > g; k--) gap[k] = gap[k - 1];
        gap[k] = g;
    }
    return n < 1 ? 0 : gap[(n - 1) / 2];
}

static int rllb_env_i_trace_ok(const rllb_env_trace *t)
{
    return t && t->count > 0 && t->time_s && t->work;
}

double rllb_env_trace_step_s(const rllb_env_trace *trace)
{
    double last, step = 0;

    if (!rllb_env_i_trace_ok(trace)) return 1;
    last = trace->time_s[trace->count - 1];
    if (!(last > 0)) return 1;
    if (trace->kind == RLLB_ENV_TRACE_AMOUNTS) step = rllb_env_i_usual_gap(trace);
    if (!(step > 0)) step = last / trace->count * RLLB_ENV_TRACE_PER_STEP;
    return step > 0 && step <= last ? step : last;
}

int32_t rllb_env_trace_steps(const rllb_env_trace *trace, double step_s)
{
    double steps;

    if (!rllb_env_i_trace_ok(trace) || !(step_s >= 0) || !rllb_env_i_finite(step_s)) return 0;
    if (step_s <= 0) step_s = rllb_env_trace_step_s(trace);
    steps = trace->time_s[trace->count - 1] / step_s + 1e-6; /* a row on the edge of a step begins it */
    return steps < (double)RLLB_ENV_I_STEPS_MAX ? (int32_t)steps + 1 : 0;
}

rllb_status rllb_env_trace_bin(const rllb_env_trace *trace, double step_s, double *work, int32_t steps)
{
    int32_t i;

    if (!work || steps < 1 || rllb_env_trace_steps(trace, step_s) < 1) return RLLB_ERROR_ARGUMENT;
    if (step_s <= 0) step_s = rllb_env_trace_step_s(trace);
    memset(work, 0, (size_t)steps * sizeof *work);
    for (i = 0; i < trace->count; i++) {
        double at = trace->time_s[i] / step_s + 1e-6;
        if (at >= 0 && at < steps) work[(int32_t)at] += trace->work[i];
    }
    return RLLB_OK;
}

/* ---- >>layout ----------------------------------------------------------------------------------------------
   Structure of arrays: every quantity has an array of its own with an element per environment. Loads are rows of n,
   which is how learners want them: the observation is the state itself. */

struct rllb_env_cluster {
    rllb_env_cluster_desc d; /* resolved */
    double base[2], span[2]; /* arrival = base + span * (24 random bits), quiet and busy */
    double mean;             /* arrival expected of a step */
    float *rate;             /* [n] */
    double *series;          /* [series_steps] TRACE: arrivals */
    int32_t series_steps;
    uint64_t *rng[4];  /* [E] each: the words of xoshiro256++ */
    float *seen;       /* [E][n] the loads: what to act on */
    float *next;       /* [E][n] what the last step led to; the same array without auto_reset */
    float *peak;       /* [E][n] before the drain, cut at 1 */
    float *arrival;    /* [E] */
    float *dropped;    /* [E] */
    double *arrived;   /* [E] totals */
    double *lost;      /* [E] */
    int64_t *overload; /* [E] */
    int32_t *step;     /* [E] */
    int32_t *phase;    /* [E] BURSTY: 1 while busy; TRACE: where in the series */
    uint8_t *ended;    /* [E] bit 0 terminated, bit 1 truncated; 0 while the episode runs */
    void *block;       /* what create allocated, NULL if the memory is the caller's */
};

/* The arrivals of LOW, HIGH and BURSTY for servers that drain 0.30 together. */
static const double rllb_env_i_range[RLLB_ENV_TRAFFIC_NUM][2] = { { 0.20, 0.30 }, { 0.30, 0.40 }, { 0.20, 0.37 },
                                                                  { 0, 0 } };

static double rllb_env_i_default_rate(const rllb_env_cluster_desc *d, int32_t server)
{
    double mean = 0.30 / d->servers, place;

    if (d->mode == RLLB_ENV_SEED0 || d->servers < 2) return mean;
    place = 10.0 * server / (d->servers - 1); /* 0 to 10; then half the mean to one and a half of it */
    return mean * ((5 + place) / 10);
}

/* Fills in the defaults; 0 if something is out of range. rates and trace stay the caller's. */
static int rllb_env_i_resolve(const rllb_env_cluster_desc *desc, rllb_env_cluster_desc *d)
{
    int32_t i;

    if (!desc) return 0;
    *d = *desc;
    if ((int)d->mode < 0 || d->mode >= RLLB_ENV_MODE_NUM) return 0;
    if ((int)d->traffic < 0 || d->traffic >= RLLB_ENV_TRAFFIC_NUM) return 0;
    if (d->environments == 0) d->environments = 1;
    if (d->servers == 0) d->servers = 3;
    if (d->horizon == 0) d->horizon = 100;
    if (d->environments < 0 || d->environments > RLLB_ENV_I_ENVIRONMENTS_MAX) return 0;
    if (d->servers < 0 || d->servers > RLLB_ENV_I_SERVERS_MAX) return 0;
    if (d->horizon < 0 || d->horizon > RLLB_ENV_I_HORIZON_MAX) return 0;
    for (i = 0; d->rates && i < d->servers; i++) {
        if (!(d->rates[i] > 0) || !rllb_env_i_finite((double)d->rates[i])) return 0;
    }
    if (!(d->dropped_penalty >= 0) || !rllb_env_i_finite((double)d->dropped_penalty)) return 0;
    if (d->dropped_penalty <= 0) d->dropped_penalty = 500;
    if (!(d->trace_mean >= 0) || d->trace_mean > 1000) return 0;
    if (d->traffic == RLLB_ENV_TRACE && rllb_env_trace_steps(d->trace, d->trace_step_s) < 1) return 0;
    if (d->traffic == RLLB_ENV_TRACE && d->trace_step_s <= 0) d->trace_step_s = rllb_env_trace_step_s(d->trace);
    return 1;
}

static rllb_env_cluster *rllb_env_i_cluster_layout(const rllb_env_cluster_desc *d, rllb_carver *c)
{
    size_t e = (size_t)d->environments, n = (size_t)d->servers, i;
    size_t steps = d->traffic == RLLB_ENV_TRACE ? (size_t)rllb_env_trace_steps(d->trace, d->trace_step_s) : 0;
    rllb_env_cluster counted, *real = (rllb_env_cluster *)rllb_carve(c, 1, sizeof *real);
    rllb_env_cluster *env = real;

    memset(&counted, 0, sizeof counted);
    if (!env) env = &counted;
    env->rate = (float *)rllb_carve(c, n, sizeof(float));
    env->series = (double *)rllb_carve(c, steps, sizeof(double));
    env->series_steps = (int32_t)steps;
    for (i = 0; i < 4; i++) env->rng[i] = (uint64_t *)rllb_carve(c, e, sizeof(uint64_t));
    env->seen = (float *)rllb_carve(c, n * e, sizeof(float));
    env->next = d->auto_reset ? (float *)rllb_carve(c, n * e, sizeof(float)) : env->seen;
    env->peak = (float *)rllb_carve(c, n * e, sizeof(float));
    env->arrival = (float *)rllb_carve(c, e, sizeof(float));
    env->dropped = (float *)rllb_carve(c, e, sizeof(float));
    env->arrived = (double *)rllb_carve(c, e, sizeof(double));
    env->lost = (double *)rllb_carve(c, e, sizeof(double));
    env->overload = (int64_t *)rllb_carve(c, e, sizeof(int64_t));
    env->step = (int32_t *)rllb_carve(c, e, sizeof(int32_t));
    env->phase = (int32_t *)rllb_carve(c, e, sizeof(int32_t));
    env->ended = (uint8_t *)rllb_carve(c, e, 1);
    return real;
}

/* Rates and traffic of a cluster that is laid out; ARGUMENT if the trace holds no usable work. */
static rllb_status rllb_env_i_cluster_fill(rllb_env_cluster *c)
{
    double drain = 0, scale = 1, lo, hi, sum = 0;
    int32_t i;

    for (i = 0; i < c->d.servers; i++) {
        c->rate[i] = c->d.rates ? c->d.rates[i] : (float)rllb_env_i_default_rate(&c->d, i);
        drain += (double)c->rate[i];
    }
    /* The defaults drain 0.30 but for rounding; then nothing is scaled, and 0.20 stays 0.20. */
    if (drain < 0.2999999 || drain > 0.3000001) scale = drain / 0.30;
    c->d.rates = c->rate;
    lo = rllb_env_i_range[c->d.traffic][0] * scale;
    hi = rllb_env_i_range[c->d.traffic][1] * scale;
    for (i = 0; i < 2; i++) {
        double busy = c->d.traffic != RLLB_ENV_BURSTY ? 1 : i ? 1.35 : 0.65;
        c->base[i] = lo * busy;
        c->span[i] = (double)((float)((hi - lo) * busy) / 16777216.0f); /* 24 bits, so that times 24 bits is exact */
    }
    if (c->d.trace_mean <= 0) c->d.trace_mean = (float)(0.95 * 0.30 * scale);
    c->mean = (lo + hi) / 2; /* busy and quiet take turns evenly: 1.35 and 0.65 make 1 */
    if (c->d.traffic != RLLB_ENV_TRACE) return RLLB_OK;
    if (rllb_env_trace_bin(c->d.trace, c->d.trace_step_s, c->series, c->series_steps) != RLLB_OK) {
        return RLLB_ERROR_ARGUMENT;
    }
    for (i = 0; i < c->series_steps; i++) {
        if (!(c->series[i] >= 0)) return RLLB_ERROR_ARGUMENT;
        sum += c->series[i];
    }
    if (!(sum > 0) || !rllb_env_i_finite(sum)) return RLLB_ERROR_ARGUMENT;
    c->mean = (double)c->d.trace_mean;
    for (i = 0; i < c->series_steps; i++) c->series[i] = c->series[i] / sum * c->series_steps * c->mean;
    return RLLB_OK;
}

/* ---- >>kernel ----------------------------------------------------------------------------------------------
   One step of up to RLLB_ENV_I_BLOCK neighbouring environments: arrivals first, by loops that compilers turn into
   vector code, then the cluster, one environment after the other or, with three servers on x86, four at a time.
   Every environment goes through the same operations in the same order whatever the block, and sums take exact
   products only (see DETERMINISM): a float times a float, or times a small integer, fits a double. */

/* xoshiro256++ side by side: 24 bits for the arrival, 24 others for the change of quiet and busy. */
static void rllb_env_i_draw(rllb_env_cluster *c, int32_t at, int32_t count, int32_t *RLLB_ENV_I_ALONE high,
                            int32_t *RLLB_ENV_I_ALONE low)
{
    uint64_t *RLLB_ENV_I_ALONE r0 = c->rng[0] + at, *RLLB_ENV_I_ALONE r1 = c->rng[1] + at;
    uint64_t *RLLB_ENV_I_ALONE r2 = c->rng[2] + at, *RLLB_ENV_I_ALONE r3 = c->rng[3] + at;
    int32_t e;

    for (e = 0; e < count; e++) {
        uint64_t s0 = r0[e], s1 = r1[e], s2 = r2[e], s3 = r3[e], sum = s0 + s3;
        uint64_t out = ((sum << 23) | (sum >> 41)) + s0, t = s1 << 17;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= t;
        r0[e] = s0;
        r1[e] = s1;
        r2[e] = s2;
        r3[e] = (s3 << 45) | (s3 >> 19);
        high[e] = (int32_t)(out >> 40);
        low[e] = (int32_t)((out >> 16) & 0xffffff);
    }
}

static void rllb_env_i_arrivals(rllb_env_cluster *c, int32_t at, int32_t count, float *RLLB_ENV_I_ALONE x)
{
    int32_t high[RLLB_ENV_I_BLOCK], low[RLLB_ENV_I_BLOCK], *RLLB_ENV_I_ALONE phase = c->phase + at, e;
    double base0 = c->base[0], span0 = c->span[0], base1 = c->base[1], span1 = c->span[1];

    if (c->d.traffic == RLLB_ENV_TRACE) {
        for (e = 0; e < count; e++) {
            x[e] = (float)c->series[phase[e]];
            phase[e] = phase[e] + 1 < c->series_steps ? phase[e] + 1 : 0;
        }
        return;
    }
    rllb_env_i_draw(c, at, count, high, low);
    if (c->d.traffic == RLLB_ENV_BURSTY) {
        float busy[RLLB_ENV_I_BLOCK];
        for (e = 0; e < count; e++) busy[e] = (float)(base1 + span1 * high[e]);
        for (e = 0; e < count; e++) x[e] = (float)(base0 + span0 * high[e]);
        for (e = 0; e < count; e++) phase[e] ^= low[e] < 1677722; /* 0.1 of 2^24 */
        for (e = 0; e < count; e++) {
            float b = busy[e], q = x[e];
            x[e] = phase[e] ? b : q;
        }
        return;
    }
    for (e = 0; e < count; e++) x[e] = (float)(base0 + span0 * high[e]);
}

static void rllb_env_i_restart(rllb_env_cluster *c, int32_t e)
{
    int32_t i, n = c->d.servers;

    for (i = 0; i < n; i++) c->seen[(size_t)e * (size_t)n + (size_t)i] = 0;
    c->step[e] = c->phase[e] = 0;
    c->ended[e] = 0;
    if (c->d.traffic == RLLB_ENV_TRACE) {
        rllb_rng r;
        for (i = 0; i < 4; i++) r.s[i] = c->rng[i][e];
        c->phase[e] = rllb_rng_below(&r, c->series_steps);
        for (i = 0; i < 4; i++) c->rng[i][e] = r.s[i];
    }
}

/* One environment that has not ended, its arrival drawn already: the cluster in plain words. Returns 1 if it ends. */
static int32_t rllb_env_i_one(rllb_env_cluster *c, int32_t e, int32_t action, float *reward, uint8_t *terminated,
                              uint8_t *truncated)
{
    int32_t i, n = c->d.servers;
    float *seen = c->seen + (size_t)e * (size_t)n, *next = c->next + (size_t)e * (size_t)n;
    float *peak = c->peak + (size_t)e * (size_t)n, over = 0, sum = 0, top = 0, mean, spread;
    double square = 0, r;

    for (i = 0; i < n; i++) {
        float load = i == action ? seen[i] + c->arrival[e] : seen[i];
        if (load > 1) {
            over = load - 1;
            load = 1;
        }
        sum += load;
        top = load > top ? load : top;
        peak[i] = load;
    }
    mean = sum / (float)n;
    for (i = 0; i < n; i++) {
        float away = peak[i] - mean, left = peak[i] - c->rate[i];
        square += (double)away * (double)away;
        seen[i] = next[i] = left > 0 ? left : 0;
    }
    spread = sqrtf((float)square / (float)n);
    top = top > 0.8f ? top - 0.8f : 0;
    r = -2.0 * (double)spread - 50.0 * (double)top - (double)c->d.dropped_penalty * (double)over;
    *terminated = c->d.mode == RLLB_ENV_SEED0 && over > 0;
    *truncated = ++c->step[e] >= c->d.horizon;
    *reward = *terminated ? -50.0f : (float)r;
    c->dropped[e] = over;
    c->arrived[e] += (double)c->arrival[e];
    c->lost[e] += (double)over;
    c->overload[e] += over > 0;
    return *terminated | *truncated;
}

#ifdef RLLB_ENV_I_SSE2
/* a0 b0 c0 a1 | b1 c1 a2 b2 | c2 a3 b3 c3 in memory, four environments of three servers, to and from three vectors. */
static inline void rllb_env_i_split3(const float *from, __m128 *a, __m128 *b, __m128 *c)
{
    __m128 x = _mm_loadu_ps(from), y = _mm_loadu_ps(from + 4), z = _mm_loadu_ps(from + 8);
    *a = _mm_shuffle_ps(x, _mm_shuffle_ps(y, z, _MM_SHUFFLE(1, 1, 2, 2)), _MM_SHUFFLE(2, 0, 3, 0));
    *b = _mm_shuffle_ps(_mm_shuffle_ps(x, y, _MM_SHUFFLE(0, 0, 1, 1)), _mm_shuffle_ps(y, z, _MM_SHUFFLE(2, 2, 3, 3)),
                        _MM_SHUFFLE(2, 0, 2, 0));
    *c = _mm_shuffle_ps(_mm_shuffle_ps(x, y, _MM_SHUFFLE(1, 1, 2, 2)), z, _MM_SHUFFLE(3, 0, 2, 0));
}

static inline void rllb_env_i_join3(__m128 *a, __m128 *b, __m128 *c)
{
    __m128 low = _mm_unpacklo_ps(*a, *b), high = _mm_unpackhi_ps(*a, *b), d = *c;
    *a = _mm_shuffle_ps(low, _mm_shuffle_ps(d, low, _MM_SHUFFLE(2, 2, 0, 0)), _MM_SHUFFLE(2, 0, 1, 0));
    *b = _mm_shuffle_ps(_mm_shuffle_ps(low, d, _MM_SHUFFLE(1, 1, 3, 3)), high, _MM_SHUFFLE(1, 0, 2, 0));
    *c = _mm_shuffle_ps(_mm_shuffle_ps(d, high, _MM_SHUFFLE(2, 2, 2, 2)),
                        _mm_shuffle_ps(high, d, _MM_SHUFFLE(3, 3, 3, 3)), _MM_SHUFFLE(2, 0, 2, 0));
}

static inline void rllb_env_i_store3(float *to, __m128 a, __m128 b, __m128 c)
{
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + 4, b);
    _mm_storeu_ps(to + 8, c);
}

static inline __m128d rllb_env_i_squares(__m128 a, __m128 b, __m128 c)
{
    __m128d x = _mm_cvtps_pd(a), y = _mm_cvtps_pd(b), z = _mm_cvtps_pd(c);
    return _mm_add_pd(_mm_add_pd(_mm_mul_pd(x, x), _mm_mul_pd(y, y)), _mm_mul_pd(z, z));
}

static inline __m128d rllb_env_i_reward(__m128 spread, __m128 top, __m128 over, double penalty)
{
    __m128d r = _mm_mul_pd(_mm_set1_pd(-2.0), _mm_cvtps_pd(spread));
    r = _mm_sub_pd(r, _mm_mul_pd(_mm_set1_pd(50.0), _mm_cvtps_pd(top)));
    return _mm_sub_pd(r, _mm_mul_pd(_mm_set1_pd(penalty), _mm_cvtps_pd(over)));
}

/* Four neighbouring environments of three servers at once; the same operations, so the same bits, as rllb_env_i_one
   on each of them. Returns a bit for each that ends. */
static inline int rllb_env_i_four(rllb_env_cluster *c, int32_t e, const int32_t *action, float *reward,
                                  uint8_t *terminated, uint8_t *truncated)
{
    const __m128 one = _mm_set1_ps(1), zero = _mm_setzero_ps(), three = _mm_set1_ps(3);
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)action), step, late, crashed;
    __m128 x = _mm_loadu_ps(c->arrival + e), l0, l1, l2, over, mean, top, spread, d0, d1, d2, r, flag;
    double *arrived = c->arrived + e, *lost = c->lost + e;
    __m128i *overload = (__m128i *)(void *)(c->overload + e);
    size_t row = 3 * (size_t)e;
    int32_t bytes;

    rllb_env_i_split3(c->seen + row, &l0, &l1, &l2);
    l0 = _mm_add_ps(l0, _mm_and_ps(x, _mm_castsi128_ps(_mm_cmpeq_epi32(a, _mm_setzero_si128()))));
    l1 = _mm_add_ps(l1, _mm_and_ps(x, _mm_castsi128_ps(_mm_cmpeq_epi32(a, _mm_set1_epi32(1)))));
    l2 = _mm_add_ps(l2, _mm_and_ps(x, _mm_castsi128_ps(_mm_cmpeq_epi32(a, _mm_set1_epi32(2)))));
    top = _mm_max_ps(_mm_max_ps(l0, l1), l2);
    over = _mm_max_ps(_mm_sub_ps(top, one), zero); /* loads are at most 1 before, so only one can be above it now */
    top = _mm_min_ps(top, one);
    l0 = _mm_min_ps(l0, one);
    l1 = _mm_min_ps(l1, one);
    l2 = _mm_min_ps(l2, one);
    mean = _mm_div_ps(_mm_add_ps(_mm_add_ps(l0, l1), l2), three);
    d0 = _mm_sub_ps(l0, mean);
    d1 = _mm_sub_ps(l1, mean);
    d2 = _mm_sub_ps(l2, mean);
    spread = _mm_movelh_ps(_mm_cvtpd_ps(rllb_env_i_squares(d0, d1, d2)),
                           _mm_cvtpd_ps(rllb_env_i_squares(_mm_movehl_ps(d0, d0), _mm_movehl_ps(d1, d1),
                                                           _mm_movehl_ps(d2, d2))));
    spread = _mm_sqrt_ps(_mm_div_ps(spread, three));
    d0 = _mm_max_ps(_mm_sub_ps(l0, _mm_set1_ps(c->rate[0])), zero);
    d1 = _mm_max_ps(_mm_sub_ps(l1, _mm_set1_ps(c->rate[1])), zero);
    d2 = _mm_max_ps(_mm_sub_ps(l2, _mm_set1_ps(c->rate[2])), zero);
    rllb_env_i_join3(&l0, &l1, &l2);
    rllb_env_i_store3(c->peak + row, l0, l1, l2);
    rllb_env_i_join3(&d0, &d1, &d2);
    rllb_env_i_store3(c->next + row, d0, d1, d2);
    rllb_env_i_store3(c->seen + row, d0, d1, d2);
    top = _mm_max_ps(_mm_sub_ps(top, _mm_set1_ps(0.8f)), zero);
    r = _mm_movelh_ps(_mm_cvtpd_ps(rllb_env_i_reward(spread, top, over, (double)c->d.dropped_penalty)),
                      _mm_cvtpd_ps(rllb_env_i_reward(_mm_movehl_ps(spread, spread), _mm_movehl_ps(top, top),
                                                     _mm_movehl_ps(over, over), (double)c->d.dropped_penalty)));
    flag = _mm_cmpgt_ps(over, zero);
    crashed = c->d.mode == RLLB_ENV_SEED0 ? _mm_castps_si128(flag) : _mm_setzero_si128();
    r = _mm_or_ps(_mm_andnot_ps(_mm_castsi128_ps(crashed), r),
                  _mm_and_ps(_mm_castsi128_ps(crashed), _mm_set1_ps(-50)));
    _mm_storeu_ps(reward, r);
    _mm_storeu_ps(c->dropped + e, over);
    _mm_storeu_pd(arrived, _mm_add_pd(_mm_loadu_pd(arrived), _mm_cvtps_pd(x)));
    _mm_storeu_pd(arrived + 2, _mm_add_pd(_mm_loadu_pd(arrived + 2), _mm_cvtps_pd(_mm_movehl_ps(x, x))));
    _mm_storeu_pd(lost, _mm_add_pd(_mm_loadu_pd(lost), _mm_cvtps_pd(over)));
    _mm_storeu_pd(lost + 2, _mm_add_pd(_mm_loadu_pd(lost + 2), _mm_cvtps_pd(_mm_movehl_ps(over, over))));
    a = _mm_castps_si128(_mm_unpacklo_ps(flag, flag)); /* each flag twice: -1 in 64 bits, subtracted */
    _mm_storeu_si128(overload, _mm_sub_epi64(_mm_loadu_si128(overload), a));
    a = _mm_castps_si128(_mm_unpackhi_ps(flag, flag));
    _mm_storeu_si128(overload + 1, _mm_sub_epi64(_mm_loadu_si128(overload + 1), a));
    step = _mm_add_epi32(_mm_loadu_si128((const __m128i *)(const void *)(c->step + e)), _mm_set1_epi32(1));
    _mm_storeu_si128((__m128i *)(void *)(c->step + e), step);
    late = _mm_cmpgt_epi32(step, _mm_set1_epi32(c->d.horizon - 1));
    step = _mm_and_si128(_mm_packs_epi16(_mm_packs_epi32(crashed, late), _mm_setzero_si128()), _mm_set1_epi8(1));
    bytes = _mm_cvtsi128_si32(step);
    memcpy(terminated, &bytes, 4);
    bytes = _mm_cvtsi128_si32(_mm_srli_si128(step, 4));
    memcpy(truncated, &bytes, 4);
    return _mm_movemask_ps(_mm_castsi128_ps(_mm_or_si128(crashed, late)));
}
#endif

/* Environments at ... at + count - 1, none of which has ended. Returns how many end here. */
static int32_t rllb_env_i_run(rllb_env_cluster *c, int32_t at, int32_t count, const int32_t *action, float *reward,
                              uint8_t *terminated, uint8_t *truncated)
{
    int32_t e = 0, k, ends = 0, until = 0;

    rllb_env_i_arrivals(c, at, count, c->arrival + at);
#ifdef RLLB_ENV_I_SSE2
    if (c->d.servers == 3) until = count & ~3;
#endif
    while (e < count) {
        int ended, width = e < until ? 4 : 1;
#ifdef RLLB_ENV_I_SSE2
        if (width == 4) ended = rllb_env_i_four(c, at + e, action + e, reward + e, terminated + e, truncated + e);
        else
#endif
            ended = rllb_env_i_one(c, at + e, action[e], reward + e, terminated + e, truncated + e);
        for (k = e; ended; ended >>= 1, k++) {
            if (!(ended & 1)) continue;
            ends++;
            if (c->d.auto_reset) rllb_env_i_restart(c, at + k);
            else c->ended[at + k] = (uint8_t)(terminated[k] | truncated[k] << 1);
        }
        e += width;
    }
    return ends;
}

/* ---- >>state -----------------------------------------------------------------------------------------------
   Bytes of the cluster, little end first: magic, version, fingerprint of the descriptor, the arrays, and a hash of
   all that stands before it. */

#define RLLB_ENV_I_MAGIC 0x4556534e45424c52u /* "RLBENSVE" */

enum { RLLB_ENV_I_STATE_VERSION = 1, RLLB_ENV_I_STATE_HEAD = 24 };

typedef struct rllb_env_i_bytes {
    unsigned char *put;       /* either this ... */
    const unsigned char *get; /* ... or this */
    uint64_t hash;            /* FNV-1a of what went through */
} rllb_env_i_bytes;

static uint64_t rllb_env_i_word(rllb_env_i_bytes *b, uint64_t value, int bytes)
{
    uint64_t word = 0;
    int i;

    for (i = 0; i < bytes; i++) {
        unsigned char byte = 0;
        if (b->put) byte = (unsigned char)(value >> (8 * i));
        else if (b->get) byte = *b->get++;
        if (b->put) *b->put++ = byte;
        word |= (uint64_t)byte << (8 * i);
        b->hash = (b->hash ^ byte) * 0x100000001b3u;
    }
    return word;
}

static uint64_t rllb_env_i_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float rllb_env_i_float(rllb_env_i_bytes *b, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    bits = (uint32_t)rllb_env_i_word(b, bits, 4);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double rllb_env_i_double(rllb_env_i_bytes *b, double value)
{
    uint64_t bits = rllb_env_i_word(b, rllb_env_i_bits(value), 8);

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What must agree between the object that saved and the one that loads. */
static uint64_t rllb_env_i_fingerprint(const rllb_env_cluster *c)
{
    unsigned char scratch[8];
    rllb_env_i_bytes b = { NULL, NULL, 0xcbf29ce484222325u };
    int32_t i;

#define RLLB_ENV_I_HASH(value) (b.put = scratch, (void)rllb_env_i_word(&b, (uint64_t)(value), 8))
    RLLB_ENV_I_HASH(c->d.mode);
    RLLB_ENV_I_HASH(c->d.traffic);
    RLLB_ENV_I_HASH(c->d.environments);
    RLLB_ENV_I_HASH(c->d.servers);
    RLLB_ENV_I_HASH(c->d.horizon);
    RLLB_ENV_I_HASH(c->d.auto_reset);
    RLLB_ENV_I_HASH(rllb_env_i_bits((double)c->d.dropped_penalty));
    for (i = 0; i < c->d.servers; i++) RLLB_ENV_I_HASH(rllb_env_i_bits((double)c->rate[i]));
    for (i = 0; i < c->series_steps; i++) RLLB_ENV_I_HASH(rllb_env_i_bits(c->series[i]));
#undef RLLB_ENV_I_HASH
    return b.hash;
}

/* One environment through b: written if b puts, read and checked if b gets, and stored in `into` unless that is NULL.
   0 if what was read cannot be a state. */
static int rllb_env_i_state_one(const rllb_env_cluster *c, int32_t e, rllb_env_i_bytes *b, rllb_env_cluster *into)
{
    size_t n = (size_t)c->d.servers, at = (size_t)e * n, i;
    int32_t phases = c->d.traffic == RLLB_ENV_TRACE ? c->series_steps : c->d.traffic == RLLB_ENV_BURSTY ? 2 : 1;
    int32_t step, phase;
    float arrival, dropped;
    double arrived, lost;
    uint64_t any = 0, overload;
    uint8_t ended;
    int ok = 1;

    for (i = 0; i < 4; i++) {
        uint64_t word = rllb_env_i_word(b, c->rng[i][e], 8);
        any |= word;
        if (into) into->rng[i][e] = word;
    }
    for (i = 0; i < n; i++) {
        float load = rllb_env_i_float(b, c->seen[at + i]), peak = rllb_env_i_float(b, c->peak[at + i]);
        float next = rllb_env_i_float(b, c->next[at + i]);
        ok = ok && load >= 0 && load <= 1 && peak >= 0 && peak <= 1 && next >= 0 && next <= 1;
        ok = ok && (c->d.auto_reset || (next >= load && next <= load));
        if (into) {
            into->next[at + i] = next;
            into->seen[at + i] = load;
            into->peak[at + i] = peak;
        }
    }
    arrival = rllb_env_i_float(b, c->arrival[e]);
    dropped = rllb_env_i_float(b, c->dropped[e]);
    arrived = rllb_env_i_double(b, c->arrived[e]);
    lost = rllb_env_i_double(b, c->lost[e]);
    overload = rllb_env_i_word(b, (uint64_t)c->overload[e], 8);
    step = (int32_t)rllb_env_i_word(b, (uint64_t)c->step[e], 4);
    phase = (int32_t)rllb_env_i_word(b, (uint64_t)c->phase[e], 4);
    ended = (uint8_t)rllb_env_i_word(b, c->ended[e], 1);
    if (into) {
        into->arrival[e] = arrival;
        into->dropped[e] = dropped;
        into->arrived[e] = arrived;
        into->lost[e] = lost;
        into->overload[e] = (int64_t)overload;
        into->step[e] = step;
        into->phase[e] = phase;
        into->ended[e] = ended;
    }
    return ok && any && arrival >= 0 && dropped >= 0 && arrived >= lost && lost >= 0 && rllb_env_i_finite(arrived) &&
           overload <= (uint64_t)INT64_MAX && step >= 0 && step <= c->d.horizon && phase >= 0 && phase < phases &&
           ended < 4 && !(ended && c->d.auto_reset);
}

size_t rllb_env_cluster_state_size(const rllb_env_cluster *c)
{
    size_t one = 32 + 12 * (size_t)c->d.servers + 2 * 4 + 2 * 8 + 8 + 2 * 4 + 1;

    return RLLB_ENV_I_STATE_HEAD + one * (size_t)c->d.environments + 8;
}

rllb_status rllb_env_cluster_save(const rllb_env_cluster *c, void *mem, size_t size)
{
    rllb_env_i_bytes b = { NULL, NULL, 0xcbf29ce484222325u };
    int32_t e;

    if (!c || !mem) return RLLB_ERROR_ARGUMENT;
    if (size < rllb_env_cluster_state_size(c)) return RLLB_ERROR_MEMORY_SIZE;
    b.put = (unsigned char *)mem;
    rllb_env_i_word(&b, RLLB_ENV_I_MAGIC, 8);
    rllb_env_i_word(&b, RLLB_ENV_I_STATE_VERSION, 8);
    rllb_env_i_word(&b, rllb_env_i_fingerprint(c), 8);
    for (e = 0; e < c->d.environments; e++) rllb_env_i_state_one(c, e, &b, NULL);
    rllb_env_i_word(&b, b.hash, 8);
    return RLLB_OK;
}

rllb_status rllb_env_cluster_load(rllb_env_cluster *c, const void *mem, size_t size)
{
    static const uint64_t start = 0xcbf29ce484222325u;
    rllb_env_i_bytes b = { NULL, NULL, start };
    size_t wanted;
    uint64_t hash;
    int32_t e;
    int ok = 1;

    if (!c || !mem) return RLLB_ERROR_ARGUMENT;
    if (size < RLLB_ENV_I_STATE_HEAD) return RLLB_ERROR_TRUNCATED;
    wanted = rllb_env_cluster_state_size(c);
    b.get = (const unsigned char *)mem;
    if (rllb_env_i_word(&b, 0, 8) != RLLB_ENV_I_MAGIC) return RLLB_ERROR_FORMAT;
    if (rllb_env_i_word(&b, 0, 8) != RLLB_ENV_I_STATE_VERSION) return RLLB_ERROR_FORMAT;
    if (rllb_env_i_word(&b, 0, 8) != rllb_env_i_fingerprint(c)) return RLLB_ERROR_SHAPE;
    if (size < wanted) return RLLB_ERROR_TRUNCATED;
    for (e = 0; e < c->d.environments; e++) ok = rllb_env_i_state_one(c, e, &b, NULL) && ok;
    hash = b.hash;
    if (rllb_env_i_word(&b, 0, 8) != hash || !ok || size > wanted) return RLLB_ERROR_FORMAT;
    b.get = (const unsigned char *)mem + RLLB_ENV_I_STATE_HEAD;
    for (e = 0; e < c->d.environments; e++) rllb_env_i_state_one(c, e, &b, c);
    return RLLB_OK;
}

/* ---- >>cluster ---------------------------------------------------------------------------------------------
   What the user calls; checks arguments, splits the environments into blocks. */

void rllb_env_cluster_desc_default(rllb_env_cluster_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_env_cluster_size(const rllb_env_cluster_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_env_cluster_desc d;

    if (!rllb_env_i_resolve(desc, &d)) return 0;
    rllb_env_i_cluster_layout(&d, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_env_cluster_init(const rllb_env_cluster_desc *desc, void *mem, size_t size, rllb_env_cluster **out)
{
    rllb_carver carver = { NULL, 0 };
    rllb_env_cluster_desc d;
    rllb_env_cluster *c;
    rllb_status status;

    if (!out || !rllb_env_i_resolve(desc, &d)) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&carver, mem, size, rllb_env_cluster_size(desc));
    if (status != RLLB_OK) return status;
    c = rllb_env_i_cluster_layout(&d, &carver);
    c->d = d;
    status = rllb_env_i_cluster_fill(c);
    if (status != RLLB_OK) return status;
    c->d.trace = NULL;
    rllb_env_cluster_reset_seed(c, d.seed, d.stream);
    *out = c;
    return RLLB_OK;
}

rllb_env_cluster *rllb_env_cluster_create(const rllb_env_cluster_desc *desc)
{
    size_t size = rllb_env_cluster_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_env_cluster *c = NULL;

    if (block && rllb_env_cluster_init(desc, block, size, &c) == RLLB_OK) {
        c->block = block;
        return c;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_env_cluster_destroy(rllb_env_cluster *c)
{
    if (c) rllb_block_free(c->block);
}

int32_t rllb_env_cluster_reset_one(rllb_env_cluster *c, int32_t e)
{
    size_t i, n = (size_t)c->d.servers, at = (size_t)e * n;

    if (e < 0 || e >= c->d.environments) return -1;
    rllb_env_i_restart(c, e);
    for (i = 0; i < n; i++) c->next[at + i] = c->peak[at + i] = 0;
    c->arrival[e] = c->dropped[e] = 0;
    c->arrived[e] = c->lost[e] = 0;
    c->overload[e] = 0;
    return 0;
}

void rllb_env_cluster_reset(rllb_env_cluster *c)
{
    int32_t e;

    for (e = 0; e < c->d.environments; e++) rllb_env_cluster_reset_one(c, e);
}

void rllb_env_cluster_reset_seed(rllb_env_cluster *c, uint64_t seed, uint64_t stream)
{
    rllb_rng r;
    int32_t e, i;

    c->d.seed = seed;
    c->d.stream = stream;
    for (e = 0; e < c->d.environments; e++) {
        rllb_rng_init(&r, seed, stream + (uint64_t)e);
        for (i = 0; i < 4; i++) c->rng[i][e] = r.s[i];
    }
    rllb_env_cluster_reset(c);
}

int32_t rllb_env_cluster_step(rllb_env_cluster *c, const int32_t *actions, float *rewards, uint8_t *terminated,
                              uint8_t *truncated)
{
    int32_t e, k, all, ends = 0, wrong = 0;

    if (!c || !actions || !rewards || !terminated || !truncated) return -1;
    all = c->d.environments;
    for (e = 0; e < all; e++) wrong |= (actions[e] < 0) | (actions[e] >= c->d.servers);
    if (wrong) return -1;
    for (e = 0; e < all; e += k) {
        if (c->ended[e]) { /* stands still; never so with auto_reset */
            rewards[e] = 0;
            terminated[e] = c->ended[e] & 1;
            truncated[e] = c->ended[e] >> 1;
            k = 1;
            continue;
        }
        if (c->d.auto_reset) k = all - e < RLLB_ENV_I_BLOCK ? all - e : RLLB_ENV_I_BLOCK;
        else for (k = 1; k < RLLB_ENV_I_BLOCK && e + k < all && !c->ended[e + k];) k++;
        ends += rllb_env_i_run(c, e, k, actions + e, rewards + e, terminated + e, truncated + e);
    }
    return ends;
}

const float *rllb_env_cluster_observe(const rllb_env_cluster *c)
{
    return c->seen;
}

const float *rllb_env_cluster_observe_next(const rllb_env_cluster *c)
{
    return c->next;
}

const float *rllb_env_cluster_arrival(const rllb_env_cluster *c)
{
    return c->arrival;
}

const float *rllb_env_cluster_dropped(const rllb_env_cluster *c)
{
    return c->dropped;
}

const double *rllb_env_cluster_arrived_total(const rllb_env_cluster *c)
{
    return c->arrived;
}

const double *rllb_env_cluster_dropped_total(const rllb_env_cluster *c)
{
    return c->lost;
}

const int64_t *rllb_env_cluster_overloads(const rllb_env_cluster *c)
{
    return c->overload;
}

const int32_t *rllb_env_cluster_steps(const rllb_env_cluster *c)
{
    return c->step;
}

int32_t rllb_env_cluster_loads(const rllb_env_cluster *c, int32_t e, float *load)
{
    size_t n = (size_t)c->d.servers;

    if (e < 0 || e >= c->d.environments || !load) return -1;
    memcpy(load, c->peak + (size_t)e * n, n * sizeof *load);
    return 0;
}

void rllb_env_cluster_query(const rllb_env_cluster *c, rllb_env_cluster_desc *desc)
{
    *desc = c->d;
}

double rllb_env_cluster_mean_arrival(const rllb_env_cluster *c)
{
    return c->mean;
}

double rllb_env_cluster_mean_utilisation(const rllb_env_cluster *c)
{
    double drain = 0;
    int32_t i;

    for (i = 0; i < c->d.servers; i++) drain += (double)c->rate[i];
    return c->mean / drain;
}

static int32_t rllb_env_i_which(const char *const *names, int32_t count, const char *name)
{
    int32_t i;

    for (i = 0; name && i < count; i++) {
        if (strcmp(name, names[i]) == 0) return i;
    }
    return -1;
}

static const char *const rllb_env_i_modes[RLLB_ENV_MODE_NUM] = { "seed0", "honest" };
static const char *const rllb_env_i_traffics[RLLB_ENV_TRAFFIC_NUM] = { "low", "high", "bursty", "trace" };

const char *rllb_env_mode_name(rllb_env_mode mode)
{
    return (int)mode < 0 || mode >= RLLB_ENV_MODE_NUM ? NULL : rllb_env_i_modes[mode];
}

int32_t rllb_env_mode_of(const char *name)
{
    return rllb_env_i_which(rllb_env_i_modes, RLLB_ENV_MODE_NUM, name);
}

const char *rllb_env_traffic_name(rllb_env_traffic traffic)
{
    return (int)traffic < 0 || traffic >= RLLB_ENV_TRAFFIC_NUM ? NULL : rllb_env_i_traffics[traffic];
}

int32_t rllb_env_traffic_of(const char *name)
{
    return rllb_env_i_which(rllb_env_i_traffics, RLLB_ENV_TRAFFIC_NUM, name);
}

void rllb_env_random_actions(rllb_rng *r, int32_t n, int32_t *actions, int32_t count)
{
    uint64_t servers = n > 0 ? (uint64_t)n : 1, bits;
    int32_t i;

    for (i = 0; i + 1 < count; i += 2) {
        bits = rllb_rng_u64(r);
        actions[i] = (int32_t)(((bits >> 32) * servers) >> 32);
        actions[i + 1] = (int32_t)(((bits & 0xffffffffu) * servers) >> 32);
    }
    if (i < count) actions[i] = (int32_t)(((rllb_rng_u64(r) >> 32) * servers) >> 32);
}

/* ---- >>stations --------------------------------------------------------------------------------------------
   A station is the CPUs of a server, or its disk. All flows in service there advance alike, so one clock of the service
   that each has got will do: when a flow starts it is known at which reading it ends, and a heap of these readings has
   the next end on top. A tournament over all stations knows which of them has the next end, a heap of timers what
   travels. So an event costs O(log n) and no flow is looked at in between. */

enum {
    RLLB_ENV_I_BALANCERS_MAX = 1024,
    RLLB_ENV_I_CPUS_MAX = 65536,
    RLLB_ENV_I_STAGES_MAX = 64,
    RLLB_ENV_I_FLOWS_MAX = 1 << 24
};

typedef enum rllb_env_i_way { /* where a flow is that travels */
    RLLB_ENV_I_TO_BALANCER,
    RLLB_ENV_I_TO_SERVER,
    RLLB_ENV_I_HELD_BACK, /* at a server that rejects it or fails it, before the word leaves */
    RLLB_ENV_I_FROM_SERVER,
    RLLB_ENV_I_TO_CLIENT
} rllb_env_i_way;

typedef struct rllb_env_i_list { /* of flows in the order in which they came; ends by -1 */
    int32_t first, last;
} rllb_env_i_list;

/* The first line of the cache is all that a flow needs without travel, timeouts, samples and disk. */
typedef struct rllb_env_i_flow {
    double arrived_s, picked_s, work, stage; /* stage: work of the present stage, while it waits */
    int32_t balancer, server;
    int32_t next; /* in the line of a station, or among the free ones */
    uint8_t fate, way;
    bool open;    /* its client still waits */
    bool pending; /* its balancer awaits the end */
    uint64_t key, split;
    double cpu_left, disk_left, sample_due_s; /* left: work in stages that have not begun */
    int32_t awaited[2], sampled[2];           /* neighbours in the lists of timeouts and of samples */
    int32_t stage_number;
} rllb_env_i_flow;

typedef struct rllb_env_i_end { /* a flow in service, and the reading of the clock at which it ends */
    double at;
    int32_t flow, balancer;
} rllb_env_i_end;

typedef struct rllb_env_i_station {
    double clock, at_s, rate;      /* what each flow has got at at_s, and what it gets per second from then on */
    double speed;                  /* now, per CPU */
    double ends_sum, waiting_work; /* over the heap and the line: for the residual work */
    rllb_env_i_end *heap;          /* [active] */
    int32_t cpus, active, running, waiting;
    rllb_env_i_list line;
} rllb_env_i_station;

typedef struct rllb_env_i_timer {
    double at_s;
    int32_t flow;
} rllb_env_i_timer;

typedef struct rllb_env_i_farm { /* what a server is besides its stations */
    double cpu_later, disk_later; /* work in stages not begun, of the flows held */
    double failing;               /* share of what reaches it */
    int32_t held;
} rllb_env_i_farm;

struct rllb_env_flows {
    rllb_env_flows_desc desc; /* with every default filled in */
    rllb_env_flows_info info;
    double arrival_s, other_s;   /* the next arrival; the least of all that is neither that nor an end at a station */
    double turn_s, tick_s;       /* when the pace changes by itself; the next tick */
    double pace, factor, gap;    /* arrivals' own time per second; by events; own time until the next arrival */
    double gap_at_s;             /* when `gap` was true */
    double trace_s, trace_scale; /* own time of a trace's round; to its work or amounts */
    int32_t phase, trace_row, event, ticks, horizon;
    int32_t next_balancer;       /* of the next arrival */
    int32_t stations, leaves, timers, free_flow;
    rllb_env_i_list awaited, sampled;
    rllb_rng arrivals, phases, works, edges, keys, hops, faults;
    bool instant, bounded, sampling, disks, see_held, see_residual, probing; /* instant: nothing travels */
    bool wide;                   /* the balancers are more than a cache holds */
    double *due;                 /* [2 leaves] tournament of the stations' next ends; 1 has the least */
    rllb_env_i_station *station; /* [stations] the CPUs of server j at j, its disk at count + j */
    rllb_env_i_farm *farm;       /* [count] */
    rllb_env_i_flow *flow;       /* [flows_max] */
    rllb_env_i_timer *timer;     /* [flows_max] a heap: every flow travels once at a time */
    float *oracle;               /* [count] */
    rllb_env_server_desc *server;
    rllb_server_desc *told;
    rllb_env_event *events;
    void **controls;        /* [balancers], if they have some of their own */
    rllb_balancer **balancer;
    unsigned char **memory; /* [balancers] of the balancers */
    size_t memory_size;     /* of each */
    rllb_env_flow_fn listen;
    void *listener;
    void *block; /* what create allocated */
};

static void rllb_env_i_due_set(rllb_env_flows *w, int32_t station, double at_s)
{
    double *due = w->due;
    int32_t i = w->leaves + station;

    due[i] = at_s;
    while (i > 1) {
        double other = due[i ^ 1];
        if (other < at_s) at_s = other;
        i /= 2;
        if (due[i] >= at_s && due[i] <= at_s) return; /* nothing changes above */
        due[i] = at_s;
    }
}

static int32_t rllb_env_i_due_first(const rllb_env_flows *w)
{
    int32_t i = 1;

    while (i < w->leaves) i = 2 * i + (w->due[2 * i] > w->due[2 * i + 1]);
    return i - w->leaves;
}

static void rllb_env_i_advance(rllb_env_i_station *s, double now_s)
{
    if (s->running) s->clock += s->rate * (now_s - s->at_s);
    else s->clock = s->ends_sum = 0; /* small is exact */
    s->at_s = now_s;
}

static void rllb_env_i_serve(rllb_env_i_station *s, int32_t flow, int32_t balancer, double work)
{
    double at = s->clock + work;
    int32_t i = s->running++;

    for (; i > 0 && s->heap[(i - 1) / 2].at > at; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i].at = at;
    s->heap[i].flow = flow;
    s->heap[i].balancer = balancer;
    s->ends_sum += at;
}

/* Takes the flow that ends first out of the heap. */
static int32_t rllb_env_i_served(rllb_env_i_station *s)
{
    rllb_env_i_end first = s->heap[0], last = s->heap[--s->running];
    int32_t i = 0, child;

    for (; (child = 2 * i + 1) < s->running; i = child) {
        if (child + 1 < s->running && s->heap[child + 1].at < s->heap[child].at) child++;
        if (s->heap[child].at >= last.at) break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    s->ends_sum -= first.at;
    s->clock = first.at; /* exact, where the sum of small steps need not be */
    return first.flow;
}

/* After a change of a station that is advanced to now: its rate, and when its next flow ends. */
static void rllb_env_i_settle(rllb_env_flows *w, int32_t station)
{
    rllb_env_i_station *s = &w->station[station];
    double at_s = HUGE_VAL, rest;

    s->rate = s->running > s->cpus ? s->speed * s->cpus / s->running : s->speed;
    if (s->running && s->rate > 0) {
        rest = s->heap[0].at - s->clock;
        at_s = s->at_s + (rest > 0 ? rest / s->rate : 0);
    }
    rllb_env_i_due_set(w, station, at_s);
}

static void rllb_env_i_queue(rllb_env_flows *w, rllb_env_i_station *s, int32_t flow, double work)
{
    w->flow[flow].stage = work;
    w->flow[flow].next = -1;
    if (s->waiting++) w->flow[s->line.last].next = flow;
    else s->line.first = flow;
    s->line.last = flow;
    s->waiting_work += work;
}

static void rllb_env_i_unqueue(rllb_env_flows *w, rllb_env_i_station *s)
{
    int32_t flow = s->line.first;
    const rllb_env_i_flow *f = &w->flow[flow];

    s->line.first = f->next;
    s->waiting_work = --s->waiting ? s->waiting_work - f->stage : 0;
    rllb_env_i_serve(s, flow, f->balancer, f->stage);
}

static void rllb_env_i_enter(rllb_env_flows *w, int32_t station, int32_t flow, double work)
{
    rllb_env_i_station *s = &w->station[station];

    if (s->running >= s->active) {
        rllb_env_i_queue(w, s, flow, work);
        return;
    }
    rllb_env_i_advance(s, w->info.now_s);
    rllb_env_i_serve(s, flow, w->flow[flow].balancer, work);
    rllb_env_i_settle(w, station);
}

static void rllb_env_i_set_speed(rllb_env_flows *w, int32_t station, double speed)
{
    rllb_env_i_advance(&w->station[station], w->info.now_s);
    w->station[station].speed = speed;
    rllb_env_i_settle(w, station);
}

static double rllb_env_i_station_rest(const rllb_env_i_station *s, double now_s)
{
    double clock = s->clock + s->rate * (now_s - s->at_s);
    double rest = s->running ? s->ends_sum - s->running * clock : 0;

    return (rest > 0 ? rest : 0) + s->waiting_work;
}

static double rllb_env_i_residual_s(const rllb_env_flows *w, int32_t j)
{
    const rllb_env_i_farm *farm = &w->farm[j];
    double cpu = rllb_env_i_station_rest(&w->station[j], w->info.now_s) + (farm->cpu_later > 0 ? farm->cpu_later : 0);
    double disk = 0;

    if (w->disks) {
        disk = rllb_env_i_station_rest(&w->station[w->desc.count + j], w->info.now_s);
        if (farm->disk_later > 0) disk += farm->disk_later;
    }
    return cpu / (w->server[j].cpus * (double)w->server[j].speed) + disk;
}

/* For SRT: at the speed of now; what stands still takes for ever. */
static void rllb_env_i_see_residual(rllb_env_flows *w)
{
    int32_t j;

    for (j = 0; j < w->desc.count; j++) {
        double speed = w->station[j].speed / (double)w->server[j].speed;
        double rest = speed > 0 ? rllb_env_i_residual_s(w, j) / speed : 1e30;
        w->oracle[j] = rest < 1e30 ? (float)rest : 1e30f;
    }
}

static void rllb_env_i_hold(rllb_env_flows *w, int32_t j, int32_t more)
{
    w->farm[j].held += more;
    if (w->see_held) w->oracle[j] = (float)w->farm[j].held;
}

/* ---- >>arrivals --------------------------------------------------------------------------------------------
   When flows come and what they bring. Arrivals have a time of their own, in which a Poisson process has rate 1 and a
   trace the times of the file; its pace says how fast that runs. When the pace changes, the gap to the next arrival
   stays what it is in that time, which is exact for an exponential one. */

static double rllb_env_i_spread_default(rllb_env_law law)
{
    return law == RLLB_ENV_NORMAL ? 0.25 : law == RLLB_ENV_PARETO ? 1.5 : 1;
}

static double rllb_env_i_work_draw(rllb_env_flows *w)
{
    double mean = w->desc.work_s, spread = w->desc.spread, wide;

    switch (w->desc.law) {
    case RLLB_ENV_SAME: return mean;
    case RLLB_ENV_NORMAL:
        mean *= 1 + spread * rllb_rng_normal(&w->works);
        return mean > 0 ? mean : 0;
    case RLLB_ENV_LOGNORMAL:
        wide = log(1 + spread * spread);
        return mean * exp(sqrt(wide) * rllb_rng_normal(&w->works) - wide / 2);
    case RLLB_ENV_UNIFORM: return mean * (1 + spread * (2 * rllb_rng_double(&w->works) - 1));
    case RLLB_ENV_PARETO: return mean * (spread - 1) / spread * pow(1 - rllb_rng_double(&w->works), -1 / spread);
    case RLLB_ENV_EXPONENTIAL:
    case RLLB_ENV_LAW_NUM: break;
    }
    return rllb_rng_exponential(&w->works, mean);
}

static bool rllb_env_i_by_rows(const rllb_env_flows *w)
{
    return w->desc.trace && w->desc.trace->kind == RLLB_ENV_TRACE_REQUESTS;
}

/* How long row i of a trace lasts, in seconds of the file: up to the next; the last one as long as is usual. */
static double rllb_env_i_row_s(const rllb_env_trace *t, int32_t i)
{
    if (i + 1 < t->count) return t->time_s[i + 1] - t->time_s[i];
    return t->kind == RLLB_ENV_TRACE_AMOUNTS ? rllb_env_trace_step_s(t) : t->time_s[i] / (t->count - 1);
}

/* The pace of the present phase, row and factor; and when phase or row end. */
static double rllb_env_i_pace(const rllb_env_flows *w)
{
    const rllb_env_trace *t = w->desc.trace;
    double base = w->desc.rate * w->factor;

    if (!t) return w->desc.burst_s[0] > 0 ? base * w->desc.burst[w->phase] : base;
    if (t->kind == RLLB_ENV_TRACE_REQUESTS) return base * w->trace_s / t->count;
    return base * w->trace_scale * t->work[w->trace_row] / rllb_env_i_row_s(t, w->trace_row);
}

/* After a change of the pace, or a new gap. */
static void rllb_env_i_repace(rllb_env_flows *w)
{
    double gone = w->pace * (w->info.now_s - w->gap_at_s);

    w->gap = w->gap > gone ? w->gap - gone : 0;
    w->gap_at_s = w->info.now_s;
    w->pace = rllb_env_i_pace(w);
    w->arrival_s = w->pace > 0 ? w->info.now_s + w->gap / w->pace : HUGE_VAL;
}

static double rllb_env_i_turn_length(rllb_env_flows *w)
{
    if (w->desc.burst_s[0] > 0) return rllb_rng_exponential(&w->phases, w->desc.burst_s[w->phase]);
    if (w->desc.trace && !rllb_env_i_by_rows(w)) return rllb_env_i_row_s(w->desc.trace, w->trace_row);
    return HUGE_VAL;
}

static void rllb_env_i_turn(rllb_env_flows *w)
{
    if (w->desc.trace) w->trace_row = (w->trace_row + 1) % w->desc.trace->count;
    else w->phase ^= 1;
    w->turn_s = w->info.now_s + rllb_env_i_turn_length(w);
    rllb_env_i_repace(w);
}

/* The next arrival after one right now (or after the beginning: then a trace starts with its first row). */
static void rllb_env_i_arrival_next(rllb_env_flows *w, bool first)
{
    w->next_balancer = w->desc.balancers > 1 ? rllb_rng_below(&w->edges, w->desc.balancers) : 0;
    if (w->wide && !first) rllb_balancer_expect(w->balancer[w->next_balancer], -1);
    w->gap_at_s = w->info.now_s;
    if (!rllb_env_i_by_rows(w)) {
        w->gap = rllb_rng_exponential(&w->arrivals, 1);
    } else if (first) {
        w->gap = 0;
    } else {
        w->gap = rllb_env_i_row_s(w->desc.trace, w->trace_row);
        w->trace_row = (w->trace_row + 1) % w->desc.trace->count;
    }
    w->arrival_s = w->pace > 0 ? w->info.now_s + w->gap / w->pace : HUGE_VAL;
}

/* ---- >>life ------------------------------------------------------------------------------------------------
   A flow from its arrival to its end. It is always in one place: on its way (a timer), or at a server. */

static void rllb_env_i_link(rllb_env_flows *w, rllb_env_i_list *list, int32_t flow, bool samples)
{
    int32_t *own = samples ? w->flow[flow].sampled : w->flow[flow].awaited;

    own[0] = list->last;
    own[1] = -1;
    if (list->last < 0) list->first = flow;
    else if (samples) w->flow[list->last].sampled[1] = flow;
    else w->flow[list->last].awaited[1] = flow;
    list->last = flow;
}

static void rllb_env_i_unlink(rllb_env_flows *w, rllb_env_i_list *list, int32_t flow, bool samples)
{
    const int32_t *own = samples ? w->flow[flow].sampled : w->flow[flow].awaited;

    if (own[0] < 0) list->first = own[1];
    else if (samples) w->flow[own[0]].sampled[1] = own[1];
    else w->flow[own[0]].awaited[1] = own[1];
    if (own[1] < 0) list->last = own[0];
    else if (samples) w->flow[own[1]].sampled[0] = own[0];
    else w->flow[own[1]].awaited[0] = own[0];
}

static void rllb_env_i_other_by(rllb_env_flows *w, double at_s)
{
    if (at_s < w->other_s) w->other_s = at_s;
}

static void rllb_env_i_travel(rllb_env_flows *w, int32_t flow, rllb_env_i_way way, double takes_s)
{
    double at_s = w->info.now_s + takes_s;
    int32_t i = w->timers++;

    for (; i > 0 && w->timer[(i - 1) / 2].at_s > at_s; i = (i - 1) / 2) w->timer[i] = w->timer[(i - 1) / 2];
    w->timer[i].at_s = at_s;
    w->timer[i].flow = flow;
    w->flow[flow].way = (uint8_t)way;
    rllb_env_i_other_by(w, at_s);
}

static int32_t rllb_env_i_travelled(rllb_env_flows *w)
{
    rllb_env_i_timer first = w->timer[0], last = w->timer[--w->timers];
    int32_t i = 0, child;

    for (; (child = 2 * i + 1) < w->timers; i = child) {
        if (child + 1 < w->timers && w->timer[child + 1].at_s < w->timer[child].at_s) child++;
        if (w->timer[child].at_s >= last.at_s) break;
        w->timer[i] = w->timer[child];
    }
    w->timer[i] = last;
    return first.flow;
}

static double rllb_env_i_hop_s(const rllb_env_flows *w, rllb_rng *r)
{
    return w->desc.hop_s[0] + (w->desc.hop_s[1] - w->desc.hop_s[0]) * rllb_rng_double(r);
}

static void rllb_env_i_tell(const rllb_env_flows *w, const rllb_env_i_flow *f, rllb_env_fate fate)
{
    rllb_env_flow end;

    if (!w->listen) return;
    end.arrived_s = f->arrived_s;
    end.ended_s = w->info.now_s;
    end.work_s = f->work;
    end.balancer = f->balancer;
    end.server = f->server;
    end.fate = fate;
    w->listen(w->listener, &end);
}

/* The client has its answer. */
static void rllb_env_i_close(rllb_env_flows *w, int32_t flow)
{
    rllb_env_i_flow *f = &w->flow[flow];
    rllb_env_flows_info *info = &w->info;

    if (f->open) {
        f->open = false;
        info->in_flight--;
        if (w->bounded) rllb_env_i_unlink(w, &w->awaited, flow, false);
        if (f->fate == RLLB_ENV_COMPLETED) {
            info->completed++;
            info->duration_sum_s += info->now_s - f->arrived_s;
        } else if (f->fate == RLLB_ENV_REJECTED) {
            info->rejected++;
        } else {
            info->failed++;
        }
        rllb_env_i_tell(w, f, (rllb_env_fate)f->fate);
    } else {
        info->abandoned--;
    }
    f->next = w->free_flow;
    w->free_flow = flow;
}

/* The balancer hears how it went. */
static void rllb_env_i_heard(rllb_env_flows *w, int32_t flow, rllb_outcome outcome)
{
    rllb_env_i_flow *f = &w->flow[flow];

    f->pending = false;
    if (w->sampling) rllb_env_i_unlink(w, &w->sampled, flow, true);
    rllb_balancer_done(w->balancer[f->balancer], f->server, f->picked_s, w->info.now_s, outcome);
}

static void rllb_env_i_from_server(rllb_env_flows *w, int32_t flow)
{
    rllb_env_i_flow *f = &w->flow[flow];

    if (f->pending) rllb_env_i_heard(w, flow, f->fate == RLLB_ENV_COMPLETED ? RLLB_OUTCOME_OK : RLLB_OUTCOME_FAILED);
    if (w->instant || !f->open) rllb_env_i_close(w, flow);
    else rllb_env_i_travel(w, flow, RLLB_ENV_I_TO_CLIENT, rllb_env_i_hop_s(w, &w->hops));
}

static void rllb_env_i_reply(rllb_env_flows *w, int32_t flow, rllb_env_fate fate)
{
    w->flow[flow].fate = (uint8_t)fate;
    if (w->instant) rllb_env_i_from_server(w, flow);
    else rllb_env_i_travel(w, flow, RLLB_ENV_I_FROM_SERVER, rllb_env_i_hop_s(w, &w->hops));
}

/* The work of a flow's next stage: of k pieces left that part the rest uniformly, the first. */
static double rllb_env_i_stage_work(const rllb_env_flows *w, rllb_env_i_flow *f, bool disk)
{
    int32_t left = (w->desc.stages - f->stage_number + 1) / 2;
    double *rest = disk ? &f->disk_left : &f->cpu_left, work = *rest;
    rllb_rng r;

    if (left > 1) {
        rllb_rng_init(&r, f->split, (uint64_t)f->stage_number);
        work *= 1 - pow(1 - rllb_rng_double(&r), 1.0 / (left - 1));
    }
    *rest -= work;
    f->stage_number++;
    return work;
}

/* A flow with a disk goes on: false when no stage is left. */
static bool rllb_env_i_stage(rllb_env_flows *w, int32_t flow)
{
    rllb_env_i_flow *f = &w->flow[flow];
    bool disk = f->stage_number & 1;
    double work;

    if (f->stage_number >= w->desc.stages) return false;
    work = rllb_env_i_stage_work(w, f, disk);
    if (disk) w->farm[f->server].disk_later -= work;
    else w->farm[f->server].cpu_later -= work;
    rllb_env_i_enter(w, disk ? w->desc.count + f->server : f->server, flow, work);
    return true;
}

static void rllb_env_i_at_server(rllb_env_flows *w, int32_t flow)
{
    rllb_env_i_flow *f = &w->flow[flow];
    rllb_env_i_farm *farm = &w->farm[f->server];

    if (farm->failing > 0 && rllb_rng_double(&w->faults) < farm->failing) {
        f->fate = RLLB_ENV_FAILED;
        rllb_env_i_travel(w, flow, RLLB_ENV_I_HELD_BACK, rllb_rng_exponential(&w->faults, w->desc.fail_s));
        return;
    }
    if (farm->held >= w->server[f->server].most) {
        if (w->desc.reject_s <= 0) {
            rllb_env_i_reply(w, flow, RLLB_ENV_REJECTED);
            return;
        }
        f->fate = RLLB_ENV_REJECTED;
        rllb_env_i_travel(w, flow, RLLB_ENV_I_HELD_BACK, w->desc.reject_s);
        return;
    }
    rllb_env_i_hold(w, f->server, 1);
    if (!w->disks) {
        rllb_env_i_enter(w, f->server, flow, f->work);
        return;
    }
    f->stage_number = 0;
    f->disk_left = f->work * w->desc.io;
    f->cpu_left = f->work - f->disk_left;
    farm->disk_later += f->disk_left;
    farm->cpu_later += f->cpu_left;
    rllb_env_i_stage(w, flow);
}

/* The next end at a station. What a balancer knows of the server is fetched while its flow is. */
static void rllb_env_i_station_end(rllb_env_flows *w)
{
    int32_t station = rllb_env_i_due_first(w), flow, j;
    rllb_env_i_station *s = &w->station[station];

    if (w->wide && !w->disks) rllb_balancer_expect(w->balancer[s->heap[0].balancer], station);
    rllb_env_i_advance(s, w->info.now_s);
    flow = rllb_env_i_served(s);
    if (s->waiting) rllb_env_i_unqueue(w, s);
    rllb_env_i_settle(w, station);
    if (w->disks && rllb_env_i_stage(w, flow)) return;
    j = w->flow[flow].server;
    rllb_env_i_hold(w, j, -1);
    if (w->farm[j].held == 0) w->farm[j].cpu_later = w->farm[j].disk_later = 0; /* no rounding stays */
    rllb_env_i_reply(w, flow, RLLB_ENV_COMPLETED);
}

/* PREQUAL: three servers are asked at each pick. */
static void rllb_env_i_probe(rllb_env_flows *w, rllb_balancer *b)
{
    int32_t asked[3], i, count = rllb_balancer_probe(b, asked, 3);
    rllb_report report;

    for (i = 0; i < count; i++) {
        report.in_flight = (float)w->farm[asked[i]].held;
        report.latency_s = (float)(w->desc.work_s / (double)w->server[asked[i]].speed +
                                   rllb_env_i_residual_s(w, asked[i]));
        report.utilisation = NAN;
        rllb_balancer_report(b, asked[i], &report, w->info.now_s);
    }
}

static void rllb_env_i_at_balancer(rllb_env_flows *w, int32_t flow)
{
    rllb_env_i_flow *f = &w->flow[flow];

    if (!f->open) { /* its client went away while it was on its way */
        rllb_env_i_close(w, flow);
        return;
    }
    if (w->see_residual) rllb_env_i_see_residual(w);
    if (w->probing) rllb_env_i_probe(w, w->balancer[f->balancer]);
    f->picked_s = w->info.now_s;
    f->server = rllb_balancer_pick(w->balancer[f->balancer], f->key, w->info.now_s);
    if (f->server < 0) {
        f->fate = RLLB_ENV_REJECTED;
        rllb_env_i_from_server(w, flow);
        return;
    }
    f->pending = true;
    if (w->sampling) {
        f->sample_due_s = w->info.now_s + w->desc.sample_s;
        rllb_env_i_link(w, &w->sampled, flow, true);
        rllb_env_i_other_by(w, f->sample_due_s);
    }
    if (w->instant) rllb_env_i_at_server(w, flow);
    else rllb_env_i_travel(w, flow, RLLB_ENV_I_TO_SERVER, rllb_env_i_hop_s(w, &w->hops));
}

static void rllb_env_i_no_room(rllb_env_flows *w, rllb_env_i_flow *f)
{
    w->info.rejected++;
    w->info.no_room++;
    f->arrived_s = w->info.now_s;
    f->server = -1;
    rllb_env_i_tell(w, f, RLLB_ENV_NO_ROOM);
}

/* Draws all that the flow brings, whether there is room or not: the next one's numbers are then the same. */
static void rllb_env_i_arrive(rllb_env_flows *w)
{
    rllb_env_i_flow none, *f;
    int32_t flow = w->free_flow;
    double hop_s = 0;

    if (flow < 0) memset(&none, 0, sizeof none);
    f = flow >= 0 ? &w->flow[flow] : &none;
    if (rllb_env_i_by_rows(w)) f->work = w->desc.trace->work[w->trace_row] * w->trace_scale;
    else f->work = rllb_env_i_work_draw(w);
    f->key = rllb_rng_u64(&w->keys) | 1;
    f->balancer = w->next_balancer;
    if (w->disks) f->split = rllb_rng_u64(&w->works);
    if (!w->instant) hop_s = rllb_env_i_hop_s(w, &w->edges);
    rllb_env_i_arrival_next(w, false);
    w->info.arrived++;
    if (flow < 0) {
        rllb_env_i_no_room(w, f);
        return;
    }
    w->free_flow = f->next;
    w->info.in_flight++;
    f->arrived_s = w->info.now_s;
    f->server = -1;
    f->open = true;
    f->pending = false;
    if (w->bounded) {
        rllb_env_i_link(w, &w->awaited, flow, false);
        rllb_env_i_other_by(w, f->arrived_s + w->desc.timeout_s);
    }
    if (w->instant) rllb_env_i_at_balancer(w, flow);
    else rllb_env_i_travel(w, flow, RLLB_ENV_I_TO_BALANCER, hop_s);
}

/* The client of the oldest flow gives up. The flow itself goes on until it meets someone who knows. */
static void rllb_env_i_time_out(rllb_env_flows *w)
{
    int32_t flow = w->awaited.first;
    rllb_env_i_flow *f = &w->flow[flow];

    rllb_env_i_unlink(w, &w->awaited, flow, false);
    f->open = false;
    w->info.timed_out++;
    w->info.in_flight--;
    w->info.abandoned++;
    if (f->pending) rllb_env_i_heard(w, flow, RLLB_OUTCOME_FAILED);
    rllb_env_i_tell(w, f, RLLB_ENV_TIMED_OUT);
}

static void rllb_env_i_take_sample(rllb_env_flows *w)
{
    int32_t flow = w->sampled.first;
    rllb_env_i_flow *f = &w->flow[flow];
    double now_s = w->info.now_s;

    rllb_env_i_unlink(w, &w->sampled, flow, true);
    f->sample_due_s = now_s + w->desc.sample_s;
    rllb_env_i_link(w, &w->sampled, flow, true);
    rllb_balancer_sample(w->balancer[f->balancer], f->server, now_s - f->picked_s, now_s);
}

static void rllb_env_i_arrived(rllb_env_flows *w)
{
    int32_t flow = rllb_env_i_travelled(w);

    switch ((rllb_env_i_way)w->flow[flow].way) {
    case RLLB_ENV_I_TO_BALANCER: rllb_env_i_at_balancer(w, flow); break;
    case RLLB_ENV_I_TO_SERVER: rllb_env_i_at_server(w, flow); break;
    case RLLB_ENV_I_HELD_BACK: rllb_env_i_reply(w, flow, (rllb_env_fate)w->flow[flow].fate); break;
    case RLLB_ENV_I_FROM_SERVER: rllb_env_i_from_server(w, flow); break;
    case RLLB_ENV_I_TO_CLIENT: rllb_env_i_close(w, flow); break;
    }
}

static void rllb_env_i_speed_all(rllb_env_flows *w, int32_t j, double times)
{
    rllb_env_i_set_speed(w, j, times * (double)w->server[j].speed);
    if (w->disks) rllb_env_i_set_speed(w, w->desc.count + j, times);
}

static void rllb_env_i_server_state(rllb_env_flows *w, int32_t j, rllb_server_state state)
{
    int32_t i;

    for (i = 0; i < w->desc.balancers; i++) rllb_balancer_set_state(w->balancer[i], j, state, w->info.now_s);
}

static void rllb_env_i_event(rllb_env_flows *w)
{
    const rllb_env_event *e = &w->events[w->event++];

    switch (e->kind) {
    case RLLB_ENV_EVENT_SPEED: rllb_env_i_speed_all(w, e->server, e->value); break;
    case RLLB_ENV_EVENT_FAIL: w->farm[e->server].failing = e->value; break;
    case RLLB_ENV_EVENT_BACK:
        w->farm[e->server].failing = 0;
        rllb_env_i_speed_all(w, e->server, 1);
        break;
    case RLLB_ENV_EVENT_JOIN: rllb_env_i_server_state(w, e->server, RLLB_SERVER_UP); break;
    case RLLB_ENV_EVENT_LEAVE: rllb_env_i_server_state(w, e->server, RLLB_SERVER_DRAINING); break;
    case RLLB_ENV_EVENT_RATE:
        w->factor = e->value;
        rllb_env_i_repace(w);
        break;
    case RLLB_ENV_EVENT_NUM: break;
    }
}

/* What agents on the servers say once per interval to policies that listen: C3 to queue and service time, AWCMP to
   how many work at a CPU. */
static void rllb_env_i_reports(rllb_env_flows *w)
{
    rllb_report report;
    int32_t i, j;

    for (j = 0; j < w->desc.count; j++) {
        report.in_flight = (float)w->farm[j].held;
        report.latency_s = (float)(w->desc.work_s / (double)w->server[j].speed);
        report.utilisation = (float)w->farm[j].held / (float)w->server[j].cpus;
        for (i = 0; i < w->desc.balancers; i++) rllb_balancer_report(w->balancer[i], j, &report, w->info.now_s);
    }
}

static void rllb_env_i_tick(rllb_env_flows *w)
{
    int32_t i;

    if (w->desc.balancer.policy == RLLB_BALANCE_AWCMP || w->desc.balancer.policy == RLLB_BALANCE_C3) {
        rllb_env_i_reports(w);
    }
    for (i = 0; i < w->desc.balancers; i++) rllb_balancer_tick(w->balancer[i], w->info.now_s);
    w->ticks++;
    w->tick_s = (w->ticks + 1) * w->desc.step_s;
}

static double rllb_env_i_timeout_s(const rllb_env_flows *w)
{
    return w->awaited.first < 0 ? HUGE_VAL : w->flow[w->awaited.first].arrived_s + w->desc.timeout_s;
}

static double rllb_env_i_sample_s(const rllb_env_flows *w)
{
    return w->sampled.first < 0 ? HUGE_VAL : w->flow[w->sampled.first].sample_due_s;
}

static double rllb_env_i_event_s(const rllb_env_flows *w)
{
    return w->event < w->desc.event_count ? w->events[w->event].at_s : HUGE_VAL;
}

static double rllb_env_i_least(double a, double b)
{
    return a < b ? a : b;
}

/* What is due at other_s, or nothing, if that which was due has been called off; and then the new other_s. */
static void rllb_env_i_other(rllb_env_flows *w)
{
    double at_s = w->other_s;

    w->info.now_s = at_s;
    if (rllb_env_i_event_s(w) <= at_s) rllb_env_i_event(w);
    else if (w->turn_s <= at_s) rllb_env_i_turn(w);
    else if (w->timers && w->timer[0].at_s <= at_s) rllb_env_i_arrived(w);
    else if (rllb_env_i_timeout_s(w) <= at_s) rllb_env_i_time_out(w);
    else if (rllb_env_i_sample_s(w) <= at_s) rllb_env_i_take_sample(w);
    else if (w->tick_s <= at_s) rllb_env_i_tick(w);
    at_s = rllb_env_i_least(rllb_env_i_event_s(w), rllb_env_i_least(w->turn_s, w->tick_s));
    if (w->timers) at_s = rllb_env_i_least(at_s, w->timer[0].at_s);
    w->other_s = rllb_env_i_least(at_s, rllb_env_i_least(rllb_env_i_timeout_s(w), rllb_env_i_sample_s(w)));
}

static void rllb_env_i_run_to(rllb_env_flows *w, double until_s)
{
    for (;;) {
        double end_s = w->due[1], least = rllb_env_i_least(end_s, w->arrival_s);
        if (w->other_s <= least) {
            if (w->other_s > until_s) break;
            rllb_env_i_other(w);
        } else {
            if (least > until_s) break;
            w->info.now_s = least;
            if (end_s <= least) rllb_env_i_station_end(w);
            else rllb_env_i_arrive(w);
        }
        w->info.events++;
    }
    w->info.now_s = until_s;
}

/* ---- >>flows -----------------------------------------------------------------------------------------------
   The flow-level world: its descriptor checked, its block carved, what the user calls. */

static bool rllb_env_i_at_least(double value, double least)
{
    return rllb_env_i_finite(value) && value >= least;
}

static void rllb_env_i_server_default(rllb_env_server_desc *s, int32_t flows_max)
{
    if (s->cpus == 0) s->cpus = 1;
    if (s->active == 0) s->active = s->cpus;
    if (s->most == 0) s->most = flows_max > s->active ? flows_max : s->active;
    if (s->speed >= 0 && s->speed <= 0) s->speed = 1;
    if (s->weight >= 0 && s->weight <= 0) s->weight = (float)s->cpus;
}

static bool rllb_env_i_server_ok(const rllb_env_server_desc *server, int32_t flows_max)
{
    rllb_env_server_desc s = *server;

    rllb_env_i_server_default(&s, flows_max);
    return s.cpus > 0 && s.cpus <= RLLB_ENV_I_CPUS_MAX && s.active >= s.cpus && s.active <= RLLB_ENV_I_FLOWS_MAX &&
           s.most >= s.active && s.speed > 0 && rllb_env_i_finite((double)s.speed) && s.weight > 0 &&
           rllb_env_i_finite((double)s.weight);
}

static bool rllb_env_i_events_ok(const rllb_env_flows_desc *d)
{
    double last_s = 0;
    int32_t i;

    if (d->event_count < 0 || (d->event_count && !d->events)) return false;
    for (i = 0; i < d->event_count; i++) {
        const rllb_env_event *e = &d->events[i];
        if (!rllb_env_i_at_least(e->at_s, last_s) || (int)e->kind < 0 || e->kind >= RLLB_ENV_EVENT_NUM) return false;
        last_s = e->at_s;
        if (e->kind != RLLB_ENV_EVENT_RATE && (e->server < 0 || e->server >= d->count)) return false;
        if ((e->kind == RLLB_ENV_EVENT_SPEED || e->kind == RLLB_ENV_EVENT_RATE) && !rllb_env_i_at_least(e->value, 0)) {
            return false;
        }
        if (e->kind == RLLB_ENV_EVENT_FAIL && !(e->value >= 0 && e->value <= 1)) return false;
    }
    return true;
}

/* A trace must take time; amounts need intervals with a length. Fills in the rate of requests. */
static bool rllb_env_i_flow_trace_ok(rllb_env_flows_desc *d)
{
    const rllb_env_trace *t = d->trace;
    int32_t i;

    if (!t) return true;
    if (!rllb_env_i_trace_ok(t) || t->count < 2 || !(t->time_s[t->count - 1] > 0)) return false;
    if (d->burst[0] != 0 || d->burst[1] != 0 || d->burst_s[0] != 0 || d->burst_s[1] != 0) return false;
    if (t->kind == RLLB_ENV_TRACE_REQUESTS) {
        if (d->rate >= 0 && d->rate <= 0) d->rate = (t->count - 1) / t->time_s[t->count - 1];
        return true;
    }
    for (i = 0; i + 1 < t->count; i++) {
        if (!(t->time_s[i + 1] > t->time_s[i])) return false;
    }
    return true;
}

static bool rllb_env_i_bursts_ok(const rllb_env_flows_desc *d)
{
    const double *b = d->burst, *s = d->burst_s;

    if (b[0] >= 0 && b[0] <= 0 && b[1] >= 0 && b[1] <= 0 && s[0] >= 0 && s[0] <= 0 && s[1] >= 0 && s[1] <= 0) {
        return true;
    }
    return rllb_env_i_at_least(b[0], 0) && rllb_env_i_at_least(b[1], 0) && b[0] + b[1] > 0 &&
           rllb_env_i_at_least(s[0], 0) && rllb_env_i_at_least(s[1], 0) && s[0] > 0 && s[1] > 0;
}

static bool rllb_env_i_work_ok(rllb_env_flows_desc *d)
{
    if (!rllb_env_i_at_least(d->work_s, 0) || d->work_s <= 0) return false;
    if ((int)d->law < 0 || d->law >= RLLB_ENV_LAW_NUM || !rllb_env_i_at_least(d->spread, 0)) return false;
    if (d->spread <= 0) d->spread = rllb_env_i_spread_default(d->law);
    if (d->law == RLLB_ENV_UNIFORM && d->spread > 1) return false;
    if (d->law == RLLB_ENV_PARETO && d->spread <= 1) return false;
    if (!rllb_env_i_at_least(d->io, 0) || d->io >= 1) return false;
    if (d->stages < 0 || d->stages > RLLB_ENV_I_STAGES_MAX) return false;
    if (d->stages == 0) d->stages = d->io > 0 ? 2 : 1;
    return d->io > 0 ? d->stages > 1 : d->stages == 1;
}

static bool rllb_env_i_times_ok(rllb_env_flows_desc *d)
{
    if (!rllb_env_i_at_least(d->hop_s[0], 0) || !rllb_env_i_at_least(d->hop_s[1], d->hop_s[0])) return false;
    if (!rllb_env_i_at_least(d->timeout_s, 0) || !rllb_env_i_at_least(d->reject_s, 0)) return false;
    if (!rllb_env_i_at_least(d->fail_s, 0) || !rllb_env_i_at_least(d->sample_s, 0)) return false;
    if (d->sample_s > 0 && d->sample_s < 1e-6) return false; /* time would all but stand still */
    if (d->fail_s <= 0) d->fail_s = 0.001;
    if (d->step_s >= 0 && d->step_s <= 0) d->step_s = 0.25;
    if (d->horizon_s >= 0 && d->horizon_s <= 0) d->horizon_s = 60;
    return rllb_env_i_at_least(d->step_s, 1e-3) && d->step_s <= 1e6 && rllb_env_i_at_least(d->horizon_s, 0) &&
           d->horizon_s > 0 && d->horizon_s / d->step_s < (double)RLLB_ENV_I_HORIZON_MAX;
}

static bool rllb_env_i_is_seeing(rllb_balance policy)
{
    return policy == RLLB_BALANCE_GSQ || policy == RLLB_BALANCE_SRT || policy == RLLB_BALANCE_SED_ORACLE;
}

/* What the world sets of a balancer; servers and oracle come later. A float just below the step: a tick on time is
   never early. */
static void rllb_env_i_balancer_plan(rllb_env_flows_desc *d)
{
    static const float blind = 0;
    rllb_balancer_desc *b = &d->balancer;

    b->servers = NULL;
    b->count = b->capacity = d->count;
    b->interval_s = (float)(d->step_s * (1 - 1e-6));
    if (b->clients >= 0 && b->clients <= 0) b->clients = (float)d->balancers;
    b->oracle = rllb_env_i_is_seeing(b->policy) ? &blind : NULL;
}

static bool rllb_env_i_flows_resolve(const rllb_env_flows_desc *desc, rllb_env_flows_desc *d)
{
    int32_t i;

    if (!desc) return false;
    *d = *desc;
    if (d->balancers == 0) d->balancers = 1;
    if (d->flows_max == 0) d->flows_max = 65536;
    if (d->balancers < 0 || d->balancers > RLLB_ENV_I_BALANCERS_MAX) return false;
    if (d->flows_max < 0 || d->flows_max > RLLB_ENV_I_FLOWS_MAX) return false;
    if (!d->servers || d->count < 1 || d->count > RLLB_ENV_I_SERVERS_MAX) return false;
    for (i = 0; i < d->count; i++) {
        if (!rllb_env_i_server_ok(&d->servers[i], d->flows_max)) return false;
    }
    if (!rllb_env_i_flow_trace_ok(d) || !rllb_env_i_at_least(d->rate, 0) || d->rate <= 0) return false;
    if (!rllb_env_i_bursts_ok(d) || !rllb_env_i_work_ok(d) || !rllb_env_i_times_ok(d)) return false;
    if (!rllb_env_i_events_ok(d)) return false;
    if (d->balancer.shared || d->balancer.join || d->balancer.workers > 1) return false;
    rllb_env_i_balancer_plan(d);
    return rllb_balancer_size(&d->balancer) > 0;
}

/* The stations' heaps: CPUs as many as are active, disks as many as are held. */
static void rllb_env_i_heaps_layout(const rllb_env_flows_desc *d, rllb_carver *c, rllb_env_i_station *station)
{
    rllb_env_i_end *heap;
    int32_t i, most, stations = d->io > 0 ? 2 * d->count : d->count;

    for (i = 0; i < stations; i++) {
        rllb_env_server_desc s = d->servers[i % d->count];
        rllb_env_i_server_default(&s, d->flows_max);
        most = i < d->count ? s.active : s.most;
        if (most > d->flows_max) most = d->flows_max;
        heap = (rllb_env_i_end *)rllb_carve(c, (size_t)most, sizeof *heap);
        if (!station) continue;
        station[i].heap = heap;
        station[i].cpus = i < d->count ? s.cpus : 1;
        station[i].active = most;
    }
}

static rllb_env_flows *rllb_env_i_flows_layout(const rllb_env_flows_desc *d, rllb_carver *c)
{
    size_t n = (size_t)d->count, m = (size_t)d->balancers, flows = (size_t)d->flows_max, i;
    size_t stations = d->io > 0 ? 2 * n : n, leaves = 1, size = rllb_balancer_size(&d->balancer);
    rllb_env_flows counted, *real = (rllb_env_flows *)rllb_carve(c, 1, sizeof *real);
    rllb_env_flows *w = real;
    unsigned char *memory;

    memset(&counted, 0, sizeof counted);
    if (!w) w = &counted;
    while (leaves < stations) leaves *= 2;
    w->stations = (int32_t)stations;
    w->leaves = (int32_t)leaves;
    w->memory_size = size;
    w->due = (double *)rllb_carve(c, 2 * leaves, sizeof(double));
    w->station = (rllb_env_i_station *)rllb_carve(c, stations, sizeof *w->station);
    w->farm = (rllb_env_i_farm *)rllb_carve(c, n, sizeof *w->farm);
    w->oracle = (float *)rllb_carve(c, n, sizeof(float));
    w->server = (rllb_env_server_desc *)rllb_carve(c, n, sizeof *w->server);
    w->told = (rllb_server_desc *)rllb_carve(c, n, sizeof *w->told);
    w->events = (rllb_env_event *)rllb_carve(c, (size_t)d->event_count, sizeof *w->events);
    w->controls = (void **)rllb_carve(c, d->controls ? m : 0, sizeof *w->controls);
    w->balancer = (rllb_balancer **)rllb_carve(c, m, sizeof(rllb_balancer *));
    w->memory = (unsigned char **)rllb_carve(c, m, sizeof *w->memory);
    rllb_env_i_heaps_layout(d, c, real ? real->station : NULL);
    for (i = 0; i < m; i++) {
        memory = (unsigned char *)rllb_carve(c, 1, size);
        if (real) real->memory[i] = memory;
    }
    w->timer = (rllb_env_i_timer *)rllb_carve(c, flows, sizeof *w->timer);
    w->flow = (rllb_env_i_flow *)rllb_carve(c, flows, sizeof *w->flow);
    return real;
}

/* To the work of a trace's requests, or the share of the mean rate that an amount per second stands for. */
static void rllb_env_i_trace_begin(rllb_env_flows *w)
{
    const rllb_env_trace *t = w->desc.trace;

    if (!t) return;
    w->trace_s = t->time_s[t->count - 1] + rllb_env_i_row_s(t, t->count - 1);
    w->trace_scale = t->kind == RLLB_ENV_TRACE_REQUESTS ? w->desc.work_s * t->count / t->total : w->trace_s / t->total;
}

void rllb_env_flows_desc_default(rllb_env_flows_desc *desc)
{
    if (desc) memset(desc, 0, sizeof *desc);
}

size_t rllb_env_flows_size(const rllb_env_flows_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_env_flows_desc d;

    if (!rllb_env_i_flows_resolve(desc, &d)) return 0;
    rllb_env_i_flows_layout(&d, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_env_flows_init(const rllb_env_flows_desc *desc, void *mem, size_t size, rllb_env_flows **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_env_flows_desc d;
    rllb_env_flows *w;
    rllb_status status;
    int32_t j;

    if (!out || !rllb_env_i_flows_resolve(desc, &d)) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&c, mem, size, rllb_env_flows_size(desc));
    if (status != RLLB_OK) return status;
    w = rllb_env_i_flows_layout(&d, &c);
    w->desc = d;
    for (j = 0; j < d.count; j++) {
        w->server[j] = d.servers[j];
        rllb_env_i_server_default(&w->server[j], d.flows_max);
        w->told[j].name = NULL;
        w->told[j].weight = w->server[j].weight;
    }
    if (d.event_count) memcpy(w->events, d.events, (size_t)d.event_count * sizeof *d.events);
    if (d.controls) memcpy(w->controls, d.controls, (size_t)d.balancers * sizeof *w->controls);
    w->desc.servers = w->server;
    w->desc.events = w->events;
    w->desc.controls = d.controls ? w->controls : NULL;
    w->desc.balancer.servers = w->told;
    if (d.balancer.oracle) w->desc.balancer.oracle = w->oracle;
    w->horizon = (int32_t)ceil(d.horizon_s / d.step_s - 1e-9);
    w->disks = d.io > 0;
    w->instant = d.hop_s[1] <= 0;
    w->bounded = d.timeout_s > 0;
    w->sampling = d.sample_s > 0;
    w->see_residual = d.balancer.policy == RLLB_BALANCE_SRT;
    w->probing = d.balancer.policy == RLLB_BALANCE_PREQUAL;
    w->wide = w->memory_size * (size_t)d.balancers > (1u << 20);
    w->see_held = d.balancer.oracle && !w->see_residual;
    rllb_env_i_trace_begin(w);
    status = rllb_env_flows_reset(w, d.seed);
    if (status == RLLB_OK) *out = w;
    return status;
}

rllb_env_flows *rllb_env_flows_create(const rllb_env_flows_desc *desc)
{
    size_t size = rllb_env_flows_size(desc);
    void *block = size ? rllb_block_alloc(size) : NULL;
    rllb_env_flows *w = NULL;

    if (block && rllb_env_flows_init(desc, block, size, &w) == RLLB_OK) {
        w->block = block;
        return w;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_env_flows_destroy(rllb_env_flows *w)
{
    if (w) rllb_block_free(w->block);
}

static rllb_status rllb_env_i_balancers_begin(rllb_env_flows *w)
{
    rllb_balancer_desc b = w->desc.balancer;
    rllb_status status = RLLB_OK;
    int32_t i, j;

    b.seed = w->desc.seed;
    for (i = 0; i < w->desc.balancers && status == RLLB_OK; i++) {
        b.stream = (w->desc.stream << 16) + (uint64_t)i;
        if (w->desc.controls) b.control_self = w->desc.controls[i];
        status = rllb_balancer_init(&b, w->memory[i], w->memory_size, &w->balancer[i]);
        for (j = 0; j < w->desc.count && status == RLLB_OK; j++) {
            if (w->server[j].absent) rllb_balancer_set_state(w->balancer[i], j, RLLB_SERVER_DOWN, 0);
        }
    }
    return status;
}

static void rllb_env_i_servers_begin(rllb_env_flows *w)
{
    int32_t i;

    memset(w->farm, 0, (size_t)w->desc.count * sizeof *w->farm);
    memset(w->oracle, 0, (size_t)w->desc.count * sizeof *w->oracle);
    for (i = 0; i < 2 * w->leaves; i++) w->due[i] = HUGE_VAL;
    for (i = 0; i < w->stations; i++) {
        rllb_env_i_station *s = &w->station[i];
        s->clock = s->at_s = s->ends_sum = s->waiting_work = 0;
        s->rate = s->speed = i < w->desc.count ? (double)w->server[i].speed : 1;
        s->running = s->waiting = 0;
    }
    for (i = 0; i < w->desc.flows_max; i++) w->flow[i].next = i + 1 < w->desc.flows_max ? i + 1 : -1;
    w->free_flow = w->timers = 0;
    w->awaited.first = w->awaited.last = w->sampled.first = w->sampled.last = -1;
}

rllb_status rllb_env_flows_reset(rllb_env_flows *w, uint64_t seed)
{
    rllb_rng *streams[7];
    uint64_t i;

    if (!w) return RLLB_ERROR_ARGUMENT;
    streams[0] = &w->arrivals;
    streams[1] = &w->works;
    streams[2] = &w->edges;
    streams[3] = &w->keys;
    streams[4] = &w->hops;
    streams[5] = &w->faults;
    streams[6] = &w->phases;
    for (i = 0; i < 7; i++) rllb_rng_init(streams[i], seed, (w->desc.stream << 16) + 0x8000 + i);
    w->desc.seed = seed;
    memset(&w->info, 0, sizeof w->info);
    rllb_env_i_servers_begin(w);
    w->phase = w->trace_row = w->event = w->ticks = 0;
    w->factor = 1;
    w->tick_s = w->desc.step_s;
    w->turn_s = rllb_env_i_turn_length(w);
    w->pace = rllb_env_i_pace(w);
    rllb_env_i_arrival_next(w, true);
    w->other_s = 0; /* finds out by itself */
    return rllb_env_i_balancers_begin(w);
}

void rllb_env_flows_listen(rllb_env_flows *w, rllb_env_flow_fn fn, void *user)
{
    if (!w) return;
    w->listen = fn;
    w->listener = user;
}

rllb_status rllb_env_flows_run(rllb_env_flows *w, double until_s)
{
    if (!w || !rllb_env_i_at_least(until_s, w->info.now_s)) return RLLB_ERROR_ARGUMENT;
    rllb_env_i_run_to(w, until_s);
    return RLLB_OK;
}

double rllb_env_flows_next_s(const rllb_env_flows *w)
{
    return w ? rllb_env_i_least(w->other_s, rllb_env_i_least(w->arrival_s, w->due[1])) : HUGE_VAL;
}

rllb_status rllb_env_flows_step(rllb_env_flows *w, const float *actions, int32_t count, double *rewards,
                                double *shared, bool *terminated, bool *truncated)
{
    rllb_status status = RLLB_OK, one;
    int32_t i;

    if (!w || (actions && count < 1)) return RLLB_ERROR_ARGUMENT;
    if (w->ticks >= w->horizon) return RLLB_ERROR_STATE;
    for (i = 0; actions && i < w->desc.balancers; i++) {
        one = rllb_balancer_act(w->balancer[i], actions + (size_t)i * (size_t)count, count, w->info.now_s);
        if (status == RLLB_OK) status = one;
    }
    rllb_env_i_run_to(w, w->tick_s);
    for (i = 0; rewards && i < w->desc.balancers; i++) rewards[i] = rllb_balancer_reward(w->balancer[i]);
    if (shared) *shared = rllb_balancer_reward_shared(w->balancer, w->desc.balancers, false);
    if (terminated) *terminated = false;
    if (truncated) *truncated = w->ticks >= w->horizon;
    return status;
}

rllb_balancer *rllb_env_flows_balancer(rllb_env_flows *w, int32_t balancer)
{
    return w && balancer >= 0 && balancer < w->desc.balancers ? w->balancer[balancer] : NULL;
}

void rllb_env_flows_query(const rllb_env_flows *w, rllb_env_flows_info *out)
{
    if (!out) return;
    if (w) *out = w->info;
    else memset(out, 0, sizeof *out);
}

rllb_status rllb_env_flows_server(const rllb_env_flows *w, int32_t server, int32_t *held, int32_t *running,
                                  double *residual_s)
{
    if (!w || server < 0 || server >= w->desc.count) return RLLB_ERROR_ARGUMENT;
    if (held) *held = w->farm[server].held;
    if (running) *running = w->station[server].running;
    if (residual_s) *residual_s = rllb_env_i_residual_s(w, server);
    return RLLB_OK;
}

int32_t rllb_env_flows_state(const rllb_env_flows *w, float *state)
{
    int32_t j, n = w->desc.count;

    for (j = 0; state && j < n; j++, state += RLLB_ENV_FLOWS_STATE) {
        const rllb_env_i_station *s = &w->station[j];
        state[0] = (float)w->farm[j].held;
        state[1] = (float)s->running;
        state[2] = (float)rllb_env_i_residual_s(w, j);
        state[3] = (float)(s->speed * s->cpus);
    }
    return n * RLLB_ENV_FLOWS_STATE;
}

static const char *const rllb_env_i_laws[RLLB_ENV_LAW_NUM] = { "exponential", "same",    "normal",
                                                               "lognormal",   "uniform", "pareto" };
static const char *const rllb_env_i_event_names[RLLB_ENV_EVENT_NUM] = { "speed", "fail",  "back",
                                                                        "join",  "leave", "rate" };
static const char *const rllb_env_i_fates[RLLB_ENV_FATE_NUM] = { "completed", "rejected", "failed", "timed_out",
                                                                 "no_room" };

const char *rllb_env_law_name(rllb_env_law law)
{
    return (int)law < 0 || law >= RLLB_ENV_LAW_NUM ? NULL : rllb_env_i_laws[law];
}

int32_t rllb_env_law_of(const char *name)
{
    return rllb_env_i_which(rllb_env_i_laws, RLLB_ENV_LAW_NUM, name);
}

const char *rllb_env_event_name(rllb_env_event_kind kind)
{
    return (int)kind < 0 || kind >= RLLB_ENV_EVENT_NUM ? NULL : rllb_env_i_event_names[kind];
}

int32_t rllb_env_event_of(const char *name)
{
    return rllb_env_i_which(rllb_env_i_event_names, RLLB_ENV_EVENT_NUM, name);
}

const char *rllb_env_fate_name(rllb_env_fate fate)
{
    return (int)fate < 0 || fate >= RLLB_ENV_FATE_NUM ? NULL : rllb_env_i_fates[fate];
}

/* CPUs, active, most, speed, weight, absent; 0: default. */
static const rllb_env_server_desc rllb_env_i_seed4[8] = {
    { 4, 0, 65, 0, 0, false }, { 2, 0, 65, 0, 0, false }, { 4, 0, 65, 0, 0, false }, { 2, 0, 65, 0, 0, false },
    { 4, 0, 65, 0, 0, false }, { 2, 0, 65, 0, 0, false }, { 4, 0, 65, 0, 0, false }, { 2, 0, 65, 0, 0, false }
};
static const rllb_env_server_desc rllb_env_i_moderate[7] = {
    { 2, 32, 160, 0, 0, false }, { 2, 32, 160, 0, 0, false }, { 2, 32, 160, 0, 0, false }, { 2, 32, 160, 0, 0, false },
    { 4, 32, 160, 0, 0, false }, { 4, 32, 160, 0, 0, false }, { 4, 32, 160, 0, 0, false }
};
static const rllb_env_server_desc rllb_env_i_degraded[7] = {
    { 2, 0, 0, 0.3f, 0, false }, { 2, 0, 0, 0, 0, false }, { 2, 0, 0, 0, 0, false }, { 2, 0, 0, 0, 0, false },
    { 4, 0, 0, 0.3f, 0, false }, { 4, 0, 0, 0, 0, false }, { 4, 0, 0, 0, 0, false }
};
#define RLLB_ENV_I_THREE(cpus, a, b, c)                                                                   \
    { cpus, 32, 160, a, 0, false }, { cpus, 32, 160, b, 0, false }, { cpus, 32, 160, c, 0, false }
#define RLLB_ENV_I_TWELVE(cpus, a, b, c)                                    \
    RLLB_ENV_I_THREE(cpus, a, b, c), RLLB_ENV_I_THREE(cpus, a, b, c),       \
    RLLB_ENV_I_THREE(cpus, a, b, c), RLLB_ENV_I_THREE(cpus, a, b, c)
static const rllb_env_server_desc rllb_env_i_large[24] = { RLLB_ENV_I_TWELVE(4, 0.65f, 0.65f, 0.65f),
                                                           RLLB_ENV_I_TWELVE(8, 0.65f, 0.65f, 0.65f) };
static const rllb_env_server_desc rllb_env_i_fleet[24] = { RLLB_ENV_I_TWELVE(4, 0.6f, 1, 1.5f),
                                                           RLLB_ENV_I_TWELVE(8, 0.6f, 1, 1.5f) };

typedef struct rllb_env_i_preset {
    const rllb_env_server_desc *servers;
    int32_t count, balancers;
    double rate, work_s;
    rllb_env_law law;
    double hop_s[2], reject_s, step_s, horizon_s; /* seed 4: hop and, in it, the time a node takes (1 to 10 us) */
} rllb_env_i_preset;

static const char *const rllb_env_i_preset_names[RLLB_ENV_PRESET_NUM] = { "seed4-a", "seed4-b",  "moderate",
                                                                          "large",   "degraded", "fleet" };
static const rllb_env_i_preset rllb_env_i_presets[RLLB_ENV_PRESET_NUM] = {
    { rllb_env_i_seed4, 2, 1, 48, 0.1, RLLB_ENV_SAME, { 1.01e-4, 1.01e-3 }, 40, 0.5, 60 },
    { rllb_env_i_seed4, 4, 2, 42, 0.2, RLLB_ENV_EXPONENTIAL, { 1.01e-4, 1.01e-3 }, 40, 0.5, 60 },
    { rllb_env_i_moderate, 7, 2, 731.5, 0.0238, RLLB_ENV_EXPONENTIAL, { 0, 0 }, 0, 0, 60 },
    { rllb_env_i_large, 24, 6, 419.3, 0.2, RLLB_ENV_EXPONENTIAL, { 0, 0 }, 0, 0, 30 },
    { rllb_env_i_degraded, 7, 1, 520, 0.025, RLLB_ENV_EXPONENTIAL, { 0, 0 }, 0, 0, 60 },
    { rllb_env_i_fleet, 24, 6, 627, 0.2, RLLB_ENV_EXPONENTIAL, { 0, 0 }, 0, 0, 60 }
};

rllb_status rllb_env_flows_preset(rllb_env_preset preset, rllb_env_flows_desc *desc)
{
    const rllb_env_i_preset *p;

    if (!desc || (int)preset < 0 || preset >= RLLB_ENV_PRESET_NUM) return RLLB_ERROR_ARGUMENT;
    p = &rllb_env_i_presets[preset];
    rllb_env_flows_desc_default(desc);
    desc->servers = p->servers;
    desc->count = p->count;
    desc->balancers = p->balancers;
    desc->rate = p->rate;
    desc->work_s = p->work_s;
    desc->law = p->law;
    desc->hop_s[0] = p->hop_s[0];
    desc->hop_s[1] = p->hop_s[1];
    desc->reject_s = p->reject_s;
    desc->step_s = p->step_s;
    desc->horizon_s = p->horizon_s;
    return RLLB_OK;
}

double rllb_env_flows_capacity(const rllb_env_flows_desc *desc)
{
    rllb_env_flows_desc any, d;
    double sum = 0;
    int32_t i;

    if (!desc) return 0;
    any = *desc;
    if (any.rate >= 0 && any.rate <= 0) any.rate = 1;
    if (!rllb_env_i_flows_resolve(&any, &d)) return 0;
    for (i = 0; i < d.count; i++) {
        rllb_env_server_desc s = d.servers[i];
        double cpu, disk;
        rllb_env_i_server_default(&s, d.flows_max);
        if (s.absent) continue;
        cpu = s.cpus * (double)s.speed / (d.work_s * (1 - d.io));
        disk = d.io > 0 ? 1 / (d.work_s * d.io) : HUGE_VAL;
        sum += rllb_env_i_least(cpu, disk);
    }
    return sum;
}

const char *rllb_env_preset_name(rllb_env_preset preset)
{
    return (int)preset < 0 || preset >= RLLB_ENV_PRESET_NUM ? NULL : rllb_env_i_preset_names[preset];
}

int32_t rllb_env_preset_of(const char *name)
{
    return rllb_env_i_which(rllb_env_i_preset_names, RLLB_ENV_PRESET_NUM, name);
}

/* ---- >>tenants ---------------------------------------------------------------------------------------------
   The HONEST metrics world, client by client: what others do there, what gets done, what is seen of it. */

/* A tenant: there or not, and how far it wavers. */
typedef struct rllb_env_i_tenant {
    float there, noise;
} rllb_env_i_tenant;

typedef struct rllb_env_i_client {
    float cpu, network, flows;            /* what the allocator's flows demand now, and how many they are */
    rllb_env_i_tenant computes, transfers;
    float waits_cpu, waits_network;       /* work that waits */
    float memory, used, carried;          /* share; smoothed share of CPU; network's work since the last sample */
    float busy_cpu, busy_network;         /* shares of the last step */
    float delay, lost;                    /* of the last step */
    float taken[3], seen[3];              /* the sample on its way, and the one that is seen */
    int32_t due, way;                     /* steps to the next sample; until the one on its way is seen, 0: none is */
    int32_t taken_sent, taken_age, seen_sent, seen_age; /* flows and steps since either was taken */
} rllb_env_i_client;

struct rllb_env_metrics {
    rllb_env_metrics_desc d; /* resolved */
    float dt, keep, mean_cpu, mean_network, mean_memory; /* of a flow */
    float cpu_rate, memory_rate, noise_keep, noise_kick, comes, goes, there;
    int32_t interval, delay_steps; /* in steps */
    rllb_env_metrics_client *capacity; /* [n] */
    rllb_rng *rng;                     /* [E] */
    rllb_env_i_client *client;         /* [E][n]; none in ORIGINAL */
    float *seen, *next;                /* [E][n][columns]; one array without auto_reset */
    float *delay, *lost;               /* [E] */
    int32_t *step;                     /* [E] */
    uint8_t *ended;                    /* [E] */
    void *block;
};

static float rllb_env_i_between(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* Comes or goes, and wavers: the sum of four uniforms is near enough to a normal number, and the same everywhere. */
static void rllb_env_i_tenant_move(const rllb_env_metrics *w, rllb_rng *r, rllb_env_i_tenant *t)
{
    float change = rllb_rng_float(r), kick = rllb_rng_float(r) + rllb_rng_float(r);

    kick += rllb_rng_float(r) + rllb_rng_float(r) - 2;
    if (t->there > 0) t->there = change < w->goes ? 0.0f : 1.0f;
    else t->there = change < w->comes ? 1.0f : 0.0f;
    t->noise = t->noise * w->noise_keep + kick * w->noise_kick;
}

static float rllb_env_i_tenant_takes(const rllb_env_i_tenant *t, float share)
{
    return rllb_env_i_between(t->there * share + t->noise, 0, 1);
}

/* One resource for one step: `demand` per second comes on top of what waits, `able` per second gets done. */
static float rllb_env_i_work_off(float demand, float able, float full, const rllb_env_metrics *w, float *waits,
                              float *busy, float *lost)
{
    float come = demand * w->dt, most = able * w->dt, work = *waits + come, done = work < most ? work : most;
    float left = work - done, room = (float)w->d.buffer_s * full, over = left > room ? left - room : 0;
    float use = done / most;

    *waits = left - over;
    *busy = done / (full * w->dt);
    *lost = over > 0 ? rllb_env_i_between(over / come, 0, 1) : 0;
    return *waits / able + (float)w->d.hop_s / (1 - (use < 0.95f ? use : 0.95f));
}

/* A step of a client, but for what is random and what is seen. */
static void rllb_env_i_client_work(const rllb_env_metrics *w, const rllb_env_metrics_client *has, rllb_env_i_client *c)
{
    float computes = rllb_env_i_tenant_takes(&c->computes, w->d.tenant[0]), lost_cpu, lost_network;
    float transfers = rllb_env_i_tenant_takes(&c->transfers, w->d.tenant[2]);
    float swaps = rllb_env_i_between((c->memory - 0.9f) * 7.5f, 0, 0.75f), holds;

    c->delay = rllb_env_i_work_off(c->cpu + computes * has->cpu, has->cpu * (1 - swaps), has->cpu, w, &c->waits_cpu,
                                &c->busy_cpu, &lost_cpu);
    c->delay += rllb_env_i_work_off(c->network + transfers * has->network, has->network, has->network, w,
                                 &c->waits_network, &c->busy_network, &lost_network);
    c->lost = 1 - (1 - lost_cpu) * (1 - lost_network);
    holds = w->d.base_memory + c->flows * w->mean_memory / has->memory + c->computes.there * w->d.tenant[1];
    c->memory += w->memory_rate * (rllb_env_i_between(holds, 0, 1) - c->memory);
    c->used += w->cpu_rate * (c->busy_cpu - c->used);
    c->carried += c->busy_network;
}

static void rllb_env_i_client_decay(const rllb_env_metrics *w, rllb_env_i_client *c)
{
    c->cpu *= w->keep;
    c->network *= w->keep;
    c->flows *= w->keep;
}

static void rllb_env_i_client_give(rllb_env_i_client *c, float cpu, float network)
{
    c->cpu += cpu;
    c->network += network;
    c->flows += 1;
}

/* The agent and the way of what it says. The draw is made whether it is needed or not. */
static void rllb_env_i_client_sample(const rllb_env_metrics *w, rllb_rng *r, rllb_env_i_client *c)
{
    int missed = rllb_rng_float(r) < w->d.missed;

    c->seen_age++;
    c->taken_age++;
    if (c->way > 0 && --c->way == 0) {
        memcpy(c->seen, c->taken, sizeof c->seen);
        c->seen_sent = c->taken_sent;
        c->seen_age = c->taken_age;
    }
    if (--c->due > 0) return;
    c->due = w->interval;
    if (!missed) {
        c->taken[0] = c->used;
        c->taken[1] = c->memory;
        c->taken[2] = c->carried / (float)w->interval;
        c->taken_sent = c->taken_age = 0;
        c->way = w->delay_steps;
        if (c->way == 0) {
            memcpy(c->seen, c->taken, sizeof c->seen);
            c->seen_sent = c->seen_age = 0;
        }
    }
    c->carried = 0;
}

static void rllb_env_i_client_row(const rllb_env_metrics *w, const rllb_env_i_client *c, float *row)
{
    float flows = (float)w->interval; /* of an interval: one each step */

    memcpy(row, c->seen, sizeof c->seen);
    if (w->d.columns < RLLB_ENV_METRICS_COLUMNS) return;
    row[RLLB_ENV_SENT] = rllb_env_i_between((float)c->seen_sent / flows, 0, 4);
    row[RLLB_ENV_AGE] = rllb_env_i_between((float)c->seen_age / flows, 0, 4);
}

/* Tenants as they are in the long run, the metrics as they make them. */
static void rllb_env_i_client_start(const rllb_env_metrics *w, const rllb_env_metrics_client *has, rllb_rng *r,
                                    rllb_env_i_client *c)
{
    float kick[2] = { 0, 0 };
    int32_t i;

    memset(c, 0, sizeof *c);
    c->computes.there = rllb_rng_float(r) < w->there ? 1.0f : 0.0f;
    c->transfers.there = rllb_rng_float(r) < w->there ? 1.0f : 0.0f;
    for (i = 0; i < 8; i++) kick[i & 1] += rllb_rng_float(r) - 0.5f;
    c->computes.noise = kick[0] * w->d.noise * 1.7320508f;
    c->transfers.noise = kick[1] * w->d.noise * 1.7320508f;
    c->due = 1 + rllb_rng_below(r, w->interval);
    c->memory = rllb_env_i_between(w->d.base_memory + c->computes.there * w->d.tenant[1], 0, 1);
    rllb_env_i_client_work(w, has, c);
    c->used = c->busy_cpu;
    c->seen[0] = c->used;
    c->seen[1] = c->memory;
    c->seen[2] = c->busy_network;
    c->carried = c->busy_network * (float)(w->interval - c->due);
}

/* What one more flow costs at a client until it has died away, if nothing else happens. */
static double rllb_env_i_client_cost(const rllb_env_metrics *w, const rllb_env_metrics_client *has,
                                     const rllb_env_i_client *now)
{
    rllb_env_i_client with = *now, without = *now;
    double sum = 0, loss = w->d.loss_s;
    float left = 1;

    rllb_env_i_client_give(&with, w->mean_cpu, w->mean_network);
    for (; left > 0.05f; left *= w->keep) {
        rllb_env_i_client_work(w, has, &with);
        rllb_env_i_client_work(w, has, &without);
        sum += (double)with.flows * ((double)with.delay + loss * (double)with.lost);
        sum -= (double)without.flows * ((double)without.delay + loss * (double)without.lost);
        rllb_env_i_client_decay(w, &with);
        rllb_env_i_client_decay(w, &without);
    }
    return sum;
}

/* ---- >>metrics ---------------------------------------------------------------------------------------------
   Environments of the metrics world, and what the user calls. */

static float rllb_env_i_or(float value, float otherwise)
{
    return value > 0 ? value : value < 0 ? 0 : otherwise;
}

static double rllb_env_i_or_s(double value, double otherwise)
{
    return value > 0 ? value : value < 0 ? 0 : otherwise;
}

static int rllb_env_i_metrics_finite(const rllb_env_metrics_desc *d)
{
    const double times[] = { d->tenant_on_s, d->tenant_off_s, d->noise_s, d->step_s,   d->service_s, d->cpu_s,
                             d->memory_s,    d->interval_s,   d->delay_s, d->buffer_s, d->loss_s,    d->hop_s };
    const float shares[] = { d->load[0],   d->load[1],   d->load[2],     d->tenant[0], d->tenant[1],
                             d->tenant[2], d->noise,     d->base_memory, d->missed };
    size_t i;
    int32_t k;

    for (i = 0; i < sizeof times / sizeof *times; i++) {
        if (!(times[i] <= 1e6) || !rllb_env_i_finite(times[i])) return 0;
    }
    for (i = 0; i < sizeof shares / sizeof *shares; i++) {
        if (!(shares[i] <= 1000) || !rllb_env_i_finite((double)shares[i])) return 0;
    }
    for (k = 0; d->capacity && k < d->clients; k++) {
        const float has[] = { d->capacity[k].cpu, d->capacity[k].memory, d->capacity[k].network };
        for (i = 0; i < 3; i++) {
            if (!(has[i] > 0) || !rllb_env_i_finite((double)has[i])) return 0;
        }
    }
    return 1;
}

static int rllb_env_i_metrics_defaults(rllb_env_metrics_desc *d)
{
    static const float load[3] = { 0.35f, 0.25f, 0.35f }, tenant[3] = { 0.6f, 0.3f, 0.6f };
    int32_t i;

    for (i = 0; i < 3; i++) {
        d->load[i] = rllb_env_i_or(d->load[i], load[i]);
        d->tenant[i] = rllb_env_i_or(d->tenant[i], tenant[i]);
    }
    d->base_memory = rllb_env_i_or(d->base_memory, 0.4f);
    d->noise = rllb_env_i_or(d->noise, 0.05f);
    d->missed = rllb_env_i_or(d->missed, 0.02f);
    d->tenant_on_s = rllb_env_i_or_s(d->tenant_on_s, 10);
    d->tenant_off_s = rllb_env_i_or_s(d->tenant_off_s, 20);
    d->noise_s = rllb_env_i_or_s(d->noise_s, 5);
    d->step_s = rllb_env_i_or_s(d->step_s, 0.25);
    d->service_s = rllb_env_i_or_s(d->service_s, 2);
    d->cpu_s = rllb_env_i_or_s(d->cpu_s, 1);
    d->memory_s = rllb_env_i_or_s(d->memory_s, 10);
    d->interval_s = rllb_env_i_or_s(d->interval_s, 1);
    d->delay_s = rllb_env_i_or_s(d->delay_s, 0.25);
    d->buffer_s = rllb_env_i_or_s(d->buffer_s, 0.5);
    d->loss_s = rllb_env_i_or_s(d->loss_s, 1);
    d->hop_s = rllb_env_i_or_s(d->hop_s, 0.002);
    if (!(d->tenant_on_s > 0) || !(d->tenant_off_s > 0) || !(d->noise_s > 0)) return 0;
    return d->step_s >= 1e-6 && d->service_s > 0 && d->missed < 1 && d->delay_s <= d->interval_s &&
           d->interval_s >= d->step_s && d->interval_s / d->step_s < 1e6;
}

static int rllb_env_i_metrics_resolve(const rllb_env_metrics_desc *desc, rllb_env_metrics_desc *d)
{
    if (!desc) return 0;
    *d = *desc;
    if ((int)d->mode < 0 || d->mode >= RLLB_ENV_METRICS_MODE_NUM) return 0;
    if (d->environments == 0) d->environments = 1;
    if (d->clients == 0) d->clients = 3;
    if (d->horizon == 0) d->horizon = 200;
    if (d->columns == 0) d->columns = d->mode == RLLB_ENV_METRICS_ORIGINAL ? 3 : RLLB_ENV_METRICS_COLUMNS;
    if (d->environments < 0 || d->environments > RLLB_ENV_I_ENVIRONMENTS_MAX) return 0;
    if (d->clients < 0 || d->clients > RLLB_ENV_I_SERVERS_MAX) return 0;
    if (d->horizon < 0 || d->horizon > RLLB_ENV_I_HORIZON_MAX) return 0;
    if (d->columns != 3 && (d->columns != RLLB_ENV_METRICS_COLUMNS || d->mode == RLLB_ENV_METRICS_ORIGINAL)) return 0;
    return rllb_env_i_metrics_finite(d) && rllb_env_i_metrics_defaults(d);
}

static rllb_env_metrics *rllb_env_i_metrics_layout(const rllb_env_metrics_desc *d, rllb_carver *c)
{
    size_t e = (size_t)d->environments, n = (size_t)d->clients, row = n * (size_t)d->columns;
    size_t living = d->mode == RLLB_ENV_METRICS_HONEST ? n : 0;
    rllb_env_metrics counted, *real = (rllb_env_metrics *)rllb_carve(c, 1, sizeof *real), *w = real;

    memset(&counted, 0, sizeof counted);
    if (!w) w = &counted;
    w->capacity = (rllb_env_metrics_client *)rllb_carve(c, living, sizeof(rllb_env_metrics_client));
    w->rng = (rllb_rng *)rllb_carve(c, e, sizeof(rllb_rng));
    w->client = (rllb_env_i_client *)rllb_carve(c, living * e, sizeof(rllb_env_i_client));
    w->seen = (float *)rllb_carve(c, row * e, sizeof(float));
    w->next = d->auto_reset ? (float *)rllb_carve(c, row * e, sizeof(float)) : w->seen;
    w->delay = (float *)rllb_carve(c, e, sizeof(float));
    w->lost = (float *)rllb_carve(c, e, sizeof(float));
    w->step = (int32_t *)rllb_carve(c, e, sizeof(int32_t));
    w->ended = (uint8_t *)rllb_carve(c, e, 1);
    return real;
}

/* Share of a step that goes by in a first-order system of that time constant. */
static float rllb_env_i_rate(double dt, double time_constant)
{
    return time_constant > 0 ? (float)(1 - exp(-dt / time_constant)) : 1;
}

static void rllb_env_i_metrics_fill(rllb_env_metrics *w)
{
    rllb_env_metrics_desc *d = &w->d;
    double all[3] = { 0, 0, 0 }, share;
    int32_t i;

    for (i = 0; i < d->clients; i++) {
        double place = d->clients > 1 ? (double)i / (d->clients - 1) : 0.5;
        rllb_env_metrics_client *has = &w->capacity[i];
        has->cpu = (float)(2 + 2 * place);
        has->memory = 4;
        has->network = (float)(100 - 50 * place);
        if (d->capacity) *has = d->capacity[i];
        all[0] += (double)has->cpu;
        all[1] += (double)has->memory;
        all[2] += (double)has->network;
    }
    d->capacity = w->capacity;
    w->dt = (float)d->step_s;
    w->keep = (float)exp(-d->step_s / d->service_s);
    share = 1 - exp(-d->step_s / d->service_s); /* so many flows are in service in the mean: 1 / share */
    w->mean_cpu = (float)((double)d->load[0] * all[0] * share);
    w->mean_memory = (float)((double)d->load[1] * all[1] * share);
    w->mean_network = (float)((double)d->load[2] * all[2] * share);
    w->cpu_rate = rllb_env_i_rate(d->step_s, d->cpu_s);
    w->memory_rate = rllb_env_i_rate(d->step_s, d->memory_s);
    w->goes = rllb_env_i_rate(d->step_s, d->tenant_on_s);
    w->comes = rllb_env_i_rate(d->step_s, d->tenant_off_s);
    w->there = w->comes / (w->comes + w->goes);
    w->noise_keep = 1 - rllb_env_i_rate(d->step_s, d->noise_s);
    /* Four uniforms have the variance 1/3; together with what is kept this makes noise^2. */
    w->noise_kick = (float)((double)d->noise * sqrt(3 * (1 - (double)w->noise_keep * (double)w->noise_keep)));
    w->interval = (int32_t)(d->interval_s / d->step_s + 0.5);
    w->delay_steps = (int32_t)(d->delay_s / d->step_s + 0.5);
}

/* What environment e shows now. */
static void rllb_env_i_metrics_show(rllb_env_metrics *w, int32_t e, float *rows)
{
    int32_t i, n = w->d.clients;

    for (i = 0; w->d.mode == RLLB_ENV_METRICS_ORIGINAL && i < n * w->d.columns; i++) {
        rows[i] = rllb_rng_float(&w->rng[e]);
    }
    for (i = 0; w->d.mode == RLLB_ENV_METRICS_HONEST && i < n; i++) {
        rllb_env_i_client_row(w, &w->client[(size_t)e * (size_t)n + (size_t)i], rows + i * w->d.columns);
    }
}

static void rllb_env_i_metrics_restart(rllb_env_metrics *w, int32_t e)
{
    size_t n = (size_t)w->d.clients, at = (size_t)e * n, i;

    w->step[e] = 0;
    w->ended[e] = 0;
    for (i = 0; w->d.mode == RLLB_ENV_METRICS_HONEST && i < n; i++) {
        rllb_env_i_client_start(w, &w->capacity[i], &w->rng[e], &w->client[at + i]);
    }
    rllb_env_i_metrics_show(w, e, w->seen + at * (size_t)w->d.columns);
}

/* HONEST: a flow, and what it and all else does to environment e. Returns the reward. */
static float rllb_env_i_metrics_live(rllb_env_metrics *w, int32_t e, int32_t action)
{
    rllb_env_i_client *all = w->client + (size_t)e * (size_t)w->d.clients;
    rllb_rng *r = &w->rng[e];
    double delay = 0, lost = 0, flows = 0;
    float cpu = (float)rllb_rng_exponential(r, (double)w->mean_cpu);
    float network = (float)rllb_rng_exponential(r, (double)w->mean_network);
    int32_t i;

    rllb_env_i_client_give(&all[action], cpu, network);
    all[action].taken_sent++;
    all[action].seen_sent++;
    for (i = 0; i < w->d.clients; i++) {
        rllb_env_i_client *c = &all[i];
        rllb_env_i_tenant_move(w, r, &c->computes);
        rllb_env_i_tenant_move(w, r, &c->transfers);
        rllb_env_i_client_work(w, &w->capacity[i], c);
        delay += (double)c->flows * (double)c->delay;
        lost += (double)c->flows * (double)c->lost;
        flows += (double)c->flows;
        rllb_env_i_client_decay(w, c);
        rllb_env_i_client_sample(w, r, c);
    }
    w->delay[e] = (float)(delay / flows); /* there is the flow that has just come */
    w->lost[e] = (float)(lost / flows);
    return (float)(-(delay + w->d.loss_s * lost) / flows);
}

void rllb_env_metrics_desc_default(rllb_env_metrics_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_env_metrics_size(const rllb_env_metrics_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_env_metrics_desc d;

    if (!rllb_env_i_metrics_resolve(desc, &d)) return 0;
    rllb_env_i_metrics_layout(&d, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_env_metrics_init(const rllb_env_metrics_desc *desc, void *mem, size_t size, rllb_env_metrics **out)
{
    rllb_carver carver = { NULL, 0 };
    rllb_env_metrics_desc d;
    rllb_env_metrics *w;
    rllb_status status;

    if (!out || !rllb_env_i_metrics_resolve(desc, &d)) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&carver, mem, size, rllb_env_metrics_size(desc));
    if (status != RLLB_OK) return status;
    w = rllb_env_i_metrics_layout(&d, &carver);
    w->d = d;
    if (d.mode == RLLB_ENV_METRICS_HONEST) rllb_env_i_metrics_fill(w);
    else w->d.capacity = NULL;
    rllb_env_metrics_reset_seed(w, d.seed, d.stream);
    *out = w;
    return RLLB_OK;
}

rllb_env_metrics *rllb_env_metrics_create(const rllb_env_metrics_desc *desc)
{
    size_t size = rllb_env_metrics_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_env_metrics *w = NULL;

    if (block && rllb_env_metrics_init(desc, block, size, &w) == RLLB_OK) {
        w->block = block;
        return w;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_env_metrics_destroy(rllb_env_metrics *w)
{
    if (w) rllb_block_free(w->block);
}

void rllb_env_metrics_reset(rllb_env_metrics *w)
{
    size_t row = (size_t)w->d.clients * (size_t)w->d.columns;
    int32_t e;

    for (e = 0; e < w->d.environments; e++) {
        rllb_env_i_metrics_restart(w, e);
        w->delay[e] = w->lost[e] = 0;
    }
    if (w->next != w->seen) memcpy(w->next, w->seen, row * (size_t)w->d.environments * sizeof *w->next);
}

void rllb_env_metrics_reset_seed(rllb_env_metrics *w, uint64_t seed, uint64_t stream)
{
    int32_t e;

    w->d.seed = seed;
    w->d.stream = stream;
    for (e = 0; e < w->d.environments; e++) rllb_rng_init(&w->rng[e], seed, stream + (uint64_t)e);
    rllb_env_metrics_reset(w);
}

int32_t rllb_env_metrics_step(rllb_env_metrics *w, const int32_t *actions, float *rewards, uint8_t *truncated)
{
    size_t row;
    int32_t e, ends = 0, wrong = 0;

    if (!w || !actions || !rewards || !truncated) return -1;
    row = (size_t)w->d.clients * (size_t)w->d.columns;
    for (e = 0; e < w->d.environments; e++) wrong |= (actions[e] < 0) | (actions[e] >= w->d.clients);
    if (wrong) return -1;
    for (e = 0; e < w->d.environments; e++) {
        float *seen = w->seen + (size_t)e * row;
        truncated[e] = 1;
        rewards[e] = 0;
        if (w->ended[e]) continue; /* stands still; never so with auto_reset */
        if (w->d.mode == RLLB_ENV_METRICS_HONEST) rewards[e] = rllb_env_i_metrics_live(w, e, actions[e]);
        else rewards[e] = -seen[actions[e] * w->d.columns + RLLB_ENV_NETWORK];
        rllb_env_i_metrics_show(w, e, seen);
        if (w->next != w->seen) memcpy(w->next + (size_t)e * row, seen, row * sizeof *seen);
        truncated[e] = ++w->step[e] >= w->d.horizon;
        if (!truncated[e]) continue;
        ends++;
        if (w->d.auto_reset) rllb_env_i_metrics_restart(w, e);
        else w->ended[e] = 1;
    }
    return ends;
}

const float *rllb_env_metrics_observe(const rllb_env_metrics *w)
{
    return w->seen;
}

const float *rllb_env_metrics_observe_next(const rllb_env_metrics *w)
{
    return w->next;
}

const float *rllb_env_metrics_delay(const rllb_env_metrics *w)
{
    return w->delay;
}

const float *rllb_env_metrics_lost(const rllb_env_metrics *w)
{
    return w->lost;
}

int32_t rllb_env_metrics_query_client(const rllb_env_metrics *w, int32_t e, int32_t i, rllb_env_metrics_state *out)
{
    const rllb_env_i_client *c;

    if (e < 0 || e >= w->d.environments || i < 0 || i >= w->d.clients || !out) return -1;
    if (w->d.mode != RLLB_ENV_METRICS_HONEST) return -1;
    c = &w->client[(size_t)e * (size_t)w->d.clients + (size_t)i];
    out->cpu = c->busy_cpu;
    out->memory = c->memory;
    out->network = c->busy_network;
    out->flows = c->flows;
    out->waiting_s = c->waits_cpu / w->capacity[i].cpu + c->waits_network / w->capacity[i].network;
    out->delay_s = c->delay;
    out->lost = c->lost;
    return 0;
}

int32_t rllb_env_metrics_best(const rllb_env_metrics *w, int32_t e)
{
    size_t n = (size_t)w->d.clients, at = (size_t)e * n;
    int32_t i, best = 0;
    double least = 0;

    if (e < 0 || e >= w->d.environments) return -1;
    for (i = 0; i < w->d.clients; i++) {
        double cost;
        if (w->d.mode == RLLB_ENV_METRICS_HONEST) {
            cost = rllb_env_i_client_cost(w, &w->capacity[i], &w->client[at + (size_t)i]);
        } else {
            cost = (double)w->seen[(at + (size_t)i) * (size_t)w->d.columns + RLLB_ENV_NETWORK];
        }
        if (i == 0 || cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

void rllb_env_metrics_query(const rllb_env_metrics *w, rllb_env_metrics_desc *desc)
{
    *desc = w->d;
}

static const char *const rllb_env_i_metrics_modes[RLLB_ENV_METRICS_MODE_NUM] = { "original", "honest" };

const char *rllb_env_metrics_mode_name(rllb_env_metrics_mode mode)
{
    return (int)mode < 0 || mode >= RLLB_ENV_METRICS_MODE_NUM ? NULL : rllb_env_i_metrics_modes[mode];
}

int32_t rllb_env_metrics_mode_of(const char *name)
{
    return rllb_env_i_which(rllb_env_i_metrics_modes, RLLB_ENV_METRICS_MODE_NUM, name);
}

#ifdef __cplusplus
}
#endif

#endif /* RLLB_ENV_I_DONE */


/* ----------------------------------------------------------------------------------------------------------------
   This software is available under two licences; choose the one you prefer.

   A. MIT License. Copyright (c) 2026 the rllb authors.
   Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
   documentation files (the "Software"), to deal in the Software without restriction, including without limitation
   the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and
   to permit persons to whom the Software is furnished to do so, subject to the following conditions: The above
   copyright notice and this permission notice shall be included in all copies or substantial portions of the
   Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
   LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT
   SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION
   OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
   DEALINGS IN THE SOFTWARE.

   B. Public domain (www.unlicense.org). This is free and unencumbered software released into the public domain.
   Anyone is free to copy, modify, publish, use, compile, sell, or distribute this software, either in source code
   form or as a compiled binary, for any purpose, commercial or non-commercial, and by any means. In jurisdictions
   that recognize copyright laws, the authors dedicate any and all copyright interest in the software to the public
   domain, to the detriment of their heirs and successors, as an overt act of relinquishment in perpetuity of all
   present and future rights to this software under copyright law. The software is provided "as is", without
   warranty of any kind, express or implied. In no event shall the authors be liable for any claim, damages or other
   liability arising from the software or its use. */
