/* rllb.h - v0.1.0 - the ground floor of rllb: the balancer you embed, and what every learner stands on

   rllb is an embeddable reinforcement-learning toolkit for load balancing, in C, as three single headers:

       rllb.h      the balancer you embed; policies, Q-learning by table, statistics, fairness, random numbers,
                   memory   (this file)
       rllb_nn.h   tensors, networks, optimisers, replay memories, the DQN family, model files
       rllb_env.h  the worlds to learn in: the three-server cluster, arrival processes, traces

   This file knows nothing of neural networks or of simulation. It needs the C library only. It opens no file,
   prints nothing, reads no clock, sets no errno, never aborts, and keeps no state of its own between calls.

   DO THIS
       in exactly one C or C++ file:     #define RLLB_IMPLEMENTATION
                                         #include "rllb.h"
       everywhere else:                  #include "rllb.h"
       and link with -lm.  RLLB_IMPLEMENTATION serves all three headers at once, in any order.

   A COMPLETE PROGRAM (compiled and run by the tests)

       #define RLLB_IMPLEMENTATION
       #include "rllb.h"
       #include <stdio.h>

       int main(void)
       {
           static unsigned char memory[1024];
           float load[3] = { 0, 0, 0 };
           rllb_policy_desc desc;
           rllb_policy *policy;
           rllb_rng rng;
           int i;

           rllb_policy_desc_default(&desc);
           desc.kind = RLLB_POLICY_LEAST_LOAD;
           desc.servers = 3;
           if (rllb_policy_init(&desc, memory, sizeof memory, &policy) != RLLB_OK) return 1;
           rllb_rng_init(&rng, 1, 0);
           for (i = 0; i < 9; i++) load[rllb_policy_choose(policy, load)] += rllb_rng_range(&rng, 0.2f, 0.3f);
           printf("Jain's index of the loads: %.3f\n", rllb_fairness(RLLB_FAIRNESS_JAIN, load, 3));
           return 0;
       }

   CONTENTS OF THE IMPLEMENTATION (search for the tag)
       >>status    codes to words
       >>memory    one block per object, carved by one routine for size and for init
       >>random    xoshiro256++, seed and stream
       >>stats     running mean and variance, decayed mean, quantiles
       >>fairness  seven ways to say how even a load is
       >>policies  classical balancing policies on a load vector
       >>scans     kernels over all servers and all samples; their template is at the end of the file
       >>shared    the block that workers share, its words, who writes which
       >>balancer  descriptor, layout, init, joining a block
       >>weights   from weights to the tables of picks, published and adopted
       >>picks     the hot path
       >>outcomes  done, samples of running flows, reports of servers
       >>features  reservoirs reduced to what a controller sees
       >>rewards   what an interval was worth
       >>control   weights found by controllers and rules, and what they are held to
       >>keeper    the tick, the guard, changes by the operator
       >>metrics   Prometheus text and InfluxDB lines
       >>qlearn    tabular Q-learning: levels to states, the table, its saved form

   CONFIGURATION
       RLLB_IMPLEMENTATION   implementation file    emit the functions
       RLLB_STATIC           every including file   make all functions static (implies a copy per file)
       RLLB_API              every including file   decoration of each function (default: extern or static)
       RLLB_NO_MALLOC        implementation file    no malloc and free behind *_create and *_destroy;
                                                    *_create then answers NULL
       RLLB_MALLOC(bytes)    implementation file    the pair that *_create and *_destroy use; both or neither
       RLLB_FREE(pointer)
       RLLB_NO_SIMD          implementation file    no intrinsics: the generic kernels only
       RLLB_FILE             implementation file    this file's name, default "rllb.h": it includes itself
   No macro changes the layout of a public struct.

   MEMORY     An object lives in one block that the caller owns. x_size(desc) says how large it must be, x_init(desc,
              mem, size, &out) lays the object out in it; any address will do, alignment (64) happens inside. Both run
              the same layout routine, so they cannot disagree. Nothing is allocated after init. Under
              AddressSanitizer the arrays of a block are kept apart by poisoned gaps; they stay poisoned, so give such
              a block (a local array above all) to ASAN_UNPOISON_MEMORY_REGION before it serves another purpose.
              A balancer's server takes 352 bytes of the shared block, 68 more for each worker and 8 for each slot (16
              with the NEURIPS features), and 192 of each handle, 8 more for C3 and Maglev and 4 for each number among
              its features; Maglev 4 bytes an entry. A table of Q-learning takes 8 bytes a state (16 if it is
              hashed) and 4 for each of its servers.
   ERRORS     Cold functions return an rllb_status and leave *out alone unless it is RLLB_OK. Hot functions return an
              index or -1. NULL and numbers out of range are refused, not trusted.
   THREADS    "const" below: any number of threads may call it on one object at once. "owner": one thread at a time
              per object. "setup": before the object is shared. Objects are independent of each other.
                  rllb_version, rllb_status_*, rllb_log, rllb_fairness, rllb_block_*    const (no object)
                  rllb_policy_size, _name, _kind_of, _desc_default                      const (no object)
                  rllb_rng_*, rllb_stats_*, rllb_decay_*, rllb_p2_*, rllb_quantile      owner
                  rllb_carve*, rllb_policy_init, _create, _destroy                      setup
                  rllb_policy_choose, _reset                                            owner
                  rllb_balance_*, rllb_balancer_desc_default, _size, _shared_size       const (no object)
                  rllb_balancer_init, _create, _destroy                                 setup
                  rllb_balancer_pick, _pick_other, _done, _sample, _report, _probe, _expect    worker
                  rllb_balancer_tick, _observe, _act, _reward*, _add, _remove, _set_*,
                  _resync, _query, _server, _servers, _counters, _metrics               keeper
                  rllb_qlearn_desc_default, _size                                       const (no object)
                  rllb_qlearn_init, _create, _destroy                                   setup
                  rllb_qlearn_* else, all of them, since choose and update go together  owner
              "worker": one thread at a time per handle; handles that share a block are used at once by as many threads
              and processes as there are handles. "keeper": one thread at a time per block. A handle may do both.
   DETERMINISM  The same seed and stream give the same numbers on every machine; functions that call libm
              (rllb_rng_exponential, rllb_rng_normal, rllb_fairness) give the same on every machine with the same libm.
   LIMITS     At most 65,536 servers per policy, 4,096 per balancer, 256 workers. More than one worker needs gcc or
              clang and 64-bit words. A sample that is 24 days old is taken for a new one. The ABI is not stable: build
              from source, in one go.

   Licence: MIT or public domain, as you like; full text at the end of the file. */

#ifndef RLLB_I_STAMP /* the template at the end is read with this set; everything up to it is then skipped */
#ifndef RLLB_H
#define RLLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RLLB_VERSION_MAJOR 0
#define RLLB_VERSION_MINOR 1
#define RLLB_VERSION_PATCH 0
#define RLLB_VERSION (RLLB_VERSION_MAJOR * 10000 + RLLB_VERSION_MINOR * 100 + RLLB_VERSION_PATCH)
#define RLLB_VERSION_STRING "0.1.0"

#ifndef RLLB_API
#ifdef RLLB_STATIC
#if defined(__GNUC__)
#define RLLB_API static __attribute__((unused))
#else
#define RLLB_API static
#endif
#else
#define RLLB_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version the implementation was built from, RLLB_VERSION of that file. */
RLLB_API int32_t rllb_version(void);

/* ---- status ------------------------------------------------------------------------------------------------ */

/* The one list of outcomes: name, and what it means in words. */
#define RLLB_STATUS_LIST(X)                                                                \
    X(OK, "ok")                                                                            \
    X(ERROR_ARGUMENT, "an argument is NULL, out of range or not finite")                   \
    X(ERROR_MEMORY_SIZE, "the memory block is smaller than the size function asks for")    \
    X(ERROR_OUT_OF_MEMORY, "the allocator gave no memory")                                 \
    X(ERROR_LIMIT, "a limit of the descriptor or of the library is exceeded")              \
    X(ERROR_NAME, "no such name")                                                          \
    X(ERROR_ISA, "this processor or this build lacks the instruction set asked for")       \
    X(ERROR_TRUNCATED, "the data ends too early")                                          \
    X(ERROR_FORMAT, "the data does not follow its format")                                 \
    X(ERROR_OVERLAP, "two tensors of the file share bytes, or bytes belong to none")       \
    X(ERROR_MISSING, "the file lacks a tensor that is needed")                             \
    X(ERROR_SHAPE, "a tensor of the file has another shape or type than is needed")        \
    X(ERROR_UNSORTED, "times run backwards")                                               \
    X(ERROR_NOT_FINITE, "a number is not finite")                                          \
    X(ERROR_EMPTY, "there is no data")                                                     \
    X(ERROR_STATE, "the call does not fit what the object is doing")                       \
    X(ERROR_VERSION, "the block was laid out by another version or for other sizes")

typedef enum rllb_status {
#define RLLB_I_STATUS_ENUM(name, words) RLLB_##name,
    RLLB_STATUS_LIST(RLLB_I_STATUS_ENUM)
#undef RLLB_I_STATUS_ENUM
    RLLB_STATUS_NUM
} rllb_status;

/* "RLLB_ERROR_SHAPE" and its words. Any int is safe; what is no status gives "RLLB_?" and "unknown status". */
RLLB_API const char *rllb_status_name(rllb_status status);
RLLB_API const char *rllb_status_words(rllb_status status);

/* A hook that hears of failures as they happen. The code is for programs, `detail` (never NULL, valid during the
   call only) names the thing: a tensor, a descriptor field, a line. The default is silence. Any function of this
   shape serves every object; it is called on the thread that called rllb. */
typedef void (*rllb_log_fn)(void *user, rllb_status status, const char *detail);

typedef struct rllb_logger {
    rllb_log_fn fn; /* NULL: silence */
    void *user;
} rllb_logger;

RLLB_API void rllb_log(const rllb_logger *logger, rllb_status status, const char *detail);

/* ---- memory ------------------------------------------------------------------------------------------------ */

/* Hands out the parts of one block, each aligned to 64 bytes. A zeroed carver only counts; so one routine that
   carves an object serves both its size function and its init function:

       static rllb_thing *layout(const rllb_thing_desc *d, rllb_carver *c);     carves, fills nothing
       size:  rllb_carver c = zeroed;           layout(d, &c);   return rllb_carver_size(&c);
       init:  rllb_carver_open(&c, mem, size, rllb_thing_size(d));   thing = layout(d, &c);              */
typedef struct rllb_carver {
    unsigned char *base; /* aligned start of the block, NULL while counting */
    size_t used;         /* bytes handed out, gaps included; SIZE_MAX once it overflowed */
} rllb_carver;

/* Prepares to carve `mem`; fails unless mem is there and size >= needed. Sets the `needed` bytes to zero. */
RLLB_API rllb_status rllb_carver_open(rllb_carver *c, void *mem, size_t size, size_t needed);
/* The next count * element_bytes bytes; NULL while counting. Zero elements give a valid empty part. */
RLLB_API void *rllb_carve(rllb_carver *c, size_t count, size_t element_bytes);
/* What a block must measure to hold all that was carved, at any address. SIZE_MAX: cannot be had. */
RLLB_API size_t rllb_carver_size(const rllb_carver *c);
/* malloc and free behind every *_create and *_destroy. NULL if size is SIZE_MAX or RLLB_NO_MALLOC is set. */
RLLB_API void *rllb_block_alloc(size_t size);
RLLB_API void rllb_block_free(void *block);

/* ---- random numbers ---------------------------------------------------------------------------------------- */

/* xoshiro256++ 1.0 (Blackman and Vigna 2019), its state filled by SplitMix64 from a counter that (seed, stream)
   picks. Different streams of one seed are independent for all practical purposes: give each environment, agent
   and thread its own. 32 bytes, plain data: copy it to save it. */
typedef struct rllb_rng {
    uint64_t s[4];
} rllb_rng;

RLLB_API void rllb_rng_init(rllb_rng *r, uint64_t seed, uint64_t stream);

static inline uint64_t rllb_rng_u64(rllb_rng *r)
{
    uint64_t *s = r->s, sum = s[0] + s[3], out = ((sum << 23) | (sum >> 41)) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return out;
}

/* Uniform in [0, 1): 24 bits in a float, 53 in a double. */
static inline float rllb_rng_float(rllb_rng *r)
{
    return (float)(int32_t)(rllb_rng_u64(r) >> 40) * (1.0f / 16777216.0f);
}

static inline double rllb_rng_double(rllb_rng *r)
{
    return (double)(int64_t)(rllb_rng_u64(r) >> 11) * (1.0 / 9007199254740992.0);
}

/* Uniform in [lo, hi]; hi is reached by rounding only. */
static inline float rllb_rng_range(rllb_rng *r, float lo, float hi)
{
    return lo + (hi - lo) * rllb_rng_float(r);
}

/* Uniform in [0, n) without bias (Lemire 2019); 0 if n < 2. */
RLLB_API int32_t rllb_rng_below(rllb_rng *r, int32_t n);
/* Exponential with the given mean; standard normal (Marsaglia's polar method, one of its pair). */
RLLB_API double rllb_rng_exponential(rllb_rng *r, double mean);
RLLB_API double rllb_rng_normal(rllb_rng *r);

/* ---- statistics -------------------------------------------------------------------------------------------- */

/* Running count, mean, variance, least and greatest (Welford 1962). Zeroed is empty. Values that are not finite
   are counted in `refused` and otherwise ignored. */
typedef struct rllb_stats {
    int64_t count, refused;
    double mean, m2, least, greatest;
} rllb_stats;

RLLB_API void rllb_stats_add(rllb_stats *s, double value);
/* As if all values of `from` had been added to s (Chan, Golub and LeVeque 1979). */
RLLB_API void rllb_stats_merge(rllb_stats *s, const rllb_stats *from);
/* Sample standard deviation (count - 1 below the line); 0 for fewer than two values. */
RLLB_API double rllb_stats_stddev(const rllb_stats *s);
/* Half width of the 95 % confidence interval of the mean by Student's t; 0 for fewer than two values. */
RLLB_API double rllb_stats_ci95(const rllb_stats *s);

/* Mean of values whose weight halves every half_life_s seconds. Set half_life_s, zero the rest. Time that runs
   backwards counts as standing still. */
typedef struct rllb_decay {
    double half_life_s, last_s, sum, weight;
} rllb_decay;

RLLB_API void rllb_decay_add(rllb_decay *d, double value, double now_s);
RLLB_API double rllb_decay_mean(const rllb_decay *d); /* 0 while empty */

/* One quantile of an endless stream in constant memory: the P-square algorithm (Jain and Chlamtac 1985).
   Exact for up to five values, and for q = 0 and q = 1. */
typedef struct rllb_p2 {
    double q;
    int64_t count;
    double height[5], position[5];
} rllb_p2;

RLLB_API void rllb_p2_init(rllb_p2 *p, double q); /* 0 <= q <= 1, clamped */
RLLB_API void rllb_p2_add(rllb_p2 *p, double value);
RLLB_API double rllb_p2_query(const rllb_p2 *p); /* 0 while empty */

/* The q quantile of values[n] by linear interpolation between order statistics (numpy's default). Reorders
   values; O(n) on average. 0 if n < 1. NaN among the values gives an unspecified one of them. */
RLLB_API float rllb_quantile(float *values, int32_t n, double q);

/* ---- fairness ---------------------------------------------------------------------------------------------- */

/* How even n non-negative values (loads, delays) are, or how low the greatest; larger is better. With mean m, greatest
   M, population variance v:
       JAIN          m^2 / mean(x^2), in [1/n, 1]                  Jain, Chiu and Hawe 1984
       PRODUCT       prod(x / M), in [0, 1]                        Bossaer; CIKM'22 Eq. 14
       SINE          prod(sin(pi x / (2 M))), in [0, 1]            "G", Reinforced Workload Distribution Fairness
       VARIANCE      -v, at most 0                                 Markov potential game, NeurIPS'22
       LOG_VARIANCE  -log(v + 1e-6), at most 13.8: the gradient near equality does not vanish
       MAX           -M, at most 0: the makespan, if the values are times
       VARIANCE_BOTH VARIANCE + LOG_VARIANCE                       the same study's best: steep near equality and far
   All values zero is as fair as can be: 1, 1, 1, 0, 13.8, 0, 13.8. */
typedef enum rllb_fairness_kind {
    RLLB_FAIRNESS_JAIN,
    RLLB_FAIRNESS_PRODUCT,
    RLLB_FAIRNESS_SINE,
    RLLB_FAIRNESS_VARIANCE,
    RLLB_FAIRNESS_LOG_VARIANCE,
    RLLB_FAIRNESS_MAX,
    RLLB_FAIRNESS_VARIANCE_BOTH,
    RLLB_FAIRNESS_NUM
} rllb_fairness_kind;

/* NaN if n < 1, a value is negative or not finite, or the kind is none of the above. */
RLLB_API double rllb_fairness(rllb_fairness_kind kind, const float *values, int32_t n);

/* ---- policies ---------------------------------------------------------------------------------------------- */

/* The shape of whatever picks a server for one request: observation in, server index out. Classical policies,
   trained agents and a user's own rule all fit it. */
typedef int32_t (*rllb_choose_fn)(void *self, const float *observation, int32_t observations);

/* The shape of whatever sets weights for a while: observation in, `actions` numbers out, once per interval. A
   network, a table, a hand-written rule. What it writes is checked before it is used. */
typedef void (*rllb_control_fn)(void *self, const float *observation, int32_t observations, float *action,
                                int32_t actions);

/* The classical policies: identifier, name. They see one load per server (any unit, less is better).
       ROUND_ROBIN           0, 1, 2, ... whatever the load
       WEIGHTED_ROUND_ROBIN  smooth: shares by weight, spread evenly over time
       LEAST_LOAD            argmin load ("least connections" when load counts connections)
       SED                   shortest expected delay: argmin (load + work) / weight
       LEAST_LOAD_AHEAD      argmin of load - weight: what one step of service would leave, the time a
                             fast server would stand idle counted in its favour
       RANDOM                uniform
       WEIGHTED_RANDOM       by weight, alias table, O(1)
   Ties go to the lowest index. A load that is NaN is never preferred to one that is a number. */
#define RLLB_POLICY_LIST(X)                       \
    X(ROUND_ROBIN, "round_robin")                 \
    X(WEIGHTED_ROUND_ROBIN, "weighted_round_robin") \
    X(LEAST_LOAD, "least_load")                   \
    X(SED, "sed")                                 \
    X(LEAST_LOAD_AHEAD, "least_load_ahead")       \
    X(RANDOM, "random")                           \
    X(WEIGHTED_RANDOM, "weighted_random")

typedef enum rllb_policy_kind {
#define RLLB_I_POLICY_ENUM(id, name) RLLB_POLICY_##id,
    RLLB_POLICY_LIST(RLLB_I_POLICY_ENUM)
#undef RLLB_I_POLICY_ENUM
    RLLB_POLICY_NUM
} rllb_policy_kind;

#define RLLB_POLICY_SERVERS_MAX 65536

typedef struct rllb_policy_desc {
    rllb_policy_kind kind; /* default ROUND_ROBIN */
    int32_t servers;       /* 1 ... RLLB_POLICY_SERVERS_MAX; no default */
    const float *weights;  /* [servers], finite and > 0; copied. NULL: all 1. Service rate for SED and the like */
    float work;            /* SED: the load one request adds; default 1 */
    uint64_t seed, stream; /* of the random policies */
} rllb_policy_desc;

typedef struct rllb_policy rllb_policy;

RLLB_API void rllb_policy_desc_default(rllb_policy_desc *desc); /* all zero; servers must be set */
RLLB_API size_t rllb_policy_size(const rllb_policy_desc *desc); /* bytes; 0 if the descriptor is wrong */
RLLB_API rllb_status rllb_policy_init(const rllb_policy_desc *desc, void *mem, size_t size, rllb_policy **out);
RLLB_API rllb_policy *rllb_policy_create(const rllb_policy_desc *desc); /* size + malloc + init; NULL on failure */
RLLB_API void rllb_policy_destroy(rllb_policy *p);                      /* only for what create made */
RLLB_API void rllb_policy_reset(rllb_policy *p); /* back to the state after init, the random sequence included */
/* load[servers] -> server index. Policies that look at no load accept NULL. */
RLLB_API int32_t rllb_policy_choose(rllb_policy *p, const float *load);
/* "least_load" and back; -1 and NULL for what is none. */
RLLB_API const char *rllb_policy_name(rllb_policy_kind kind);
RLLB_API int32_t rllb_policy_kind_of(const char *name);

/* ---- balancer ---------------------------------------------------------------------------------------------- */

/* The object a load balancer embeds. Per request: pick, then done; every so often: tick.

       server = rllb_balancer_pick(b, key, now_s);                   in-flight of that server + 1
       rllb_balancer_done(b, server, started_s, now_s, outcome);     in-flight - 1, the duration is a sample
       rllb_balancer_tick(b, now_s);                                 features, guard rails, weights in force

   Time is in seconds from any start, by a clock of yours that does not run backwards. */

/* How a server is picked: identifier, name. q: requests in flight at a server, as this balancer sees them (its own,
   over all workers); w: the weight in force, the server's speed in any unit.
     by what is in flight, all servers compared
       SED                   argmin (q + 1) / w: shortest expected delay
       NQ                    never queue: an idle server if there is one, else SED
       LSQ                   argmin q: local shortest queue, "least connections"
     in turn
       ROUND_ROBIN
       WEIGHTED_ROUND_ROBIN  smooth: shares by w, spread evenly; O(servers) a pick
     by the request's key (key 0 means none: a random one is drawn)
       ECMP                  a hash of the key over all usable servers, w ignored
       WCMP                  a hash of the key into an alias table: shares by w
       AWCMP                 WCMP, w moved each interval by utilisation that rllb_balancer_report told:
                             w <- 0.5 w + 0.5 (greatest utilisation - this one's) / (mean of these differences)
       MAGLEV                consistent hashing by Maglev's table (Eisenbud et al. 2016), shares by w
       MAGLEV_BOUNDED        the same, no server above (1 + bound) times its share of what is in flight
                             (Mirrokni, Thorup and Zadimoghaddam 2018)
     a few drawn, the best of them taken
       P2C                   two distinct at random, the smaller q; shares learn nothing of w
       P2C_WEIGHTED          two distinct at random, the smaller (q + 1) / w
       DRAW                  d drawn with chances by w^a, smallest (q + 1) / w^gamma
       JIQ                   join idle queue: an idle server at random, else one at random by w
     by how long requests take
       LEAST_TIME            argmin t (q + 1) / w, t: moving average of durations, a 20th of it the newest (nginx), or
                             1 - exp(-pause / 2 s) if that is more, so that a server that healed is believed
       PEAK_EWMA             two at random, the smaller t (q + 1) / w; t jumps up to a slower duration at once and
                             forgets with time constant ewma_s (Finagle)
       C3                    argmin R - s + (1 + q clients + Q)^3 s; R, s, Q: averages of durations, and of service
                             times and queue lengths that rllb_balancer_report told (Suresh et al. 2015; no rate
                             control)
       PREQUAL               a pool of probe replies from rllb_balancer_report; replies with more in flight than the
                             `hot` quantile of the last 64 are hot; the cold one of least latency, else the hot one
                             of least in flight; at random with fewer than two (Wydrowski et al. 2024)
     with weights that are found while traffic runs
       HLB                   w = softmax(-x), x: relative mean duration (discounted by age) through a Kalman filter
                             (Yao et al. 2022); SED
       EQUALISE              each equalise_s every w is multiplied by (geometric mean over servers / its own)^eta of
                             mean durations, or of stretches (duration by the server's own unloaded one); at most
                             1.5^eta either way
       LEARNED               w from the controller
     by your own rule
       CHOOSE                the function desc.choose; it sees (q + 1) / w of every server, infinite: not usable
     with eyes that production does not have: desc.oracle[server], kept up to date by a simulator
       GSQ                   argmin oracle: shortest queue over all balancers
       SRT                   argmin oracle: shortest residual time
       SED_ORACLE            argmin (oracle + 1) / w
   Where all servers are compared, costs within a millionth of the least are a tie; of a few drawn, the first drawn of
   equals wins. */
#define RLLB_BALANCE_LIST(X)                        \
    X(SED, "sed")                                   \
    X(NQ, "nq")                                     \
    X(LSQ, "lsq")                                   \
    X(ROUND_ROBIN, "round_robin")                   \
    X(WEIGHTED_ROUND_ROBIN, "weighted_round_robin") \
    X(ECMP, "ecmp")                                 \
    X(WCMP, "wcmp")                                 \
    X(AWCMP, "awcmp")                               \
    X(MAGLEV, "maglev")                             \
    X(MAGLEV_BOUNDED, "maglev_bounded")             \
    X(P2C, "p2c")                                   \
    X(P2C_WEIGHTED, "p2c_weighted")                 \
    X(DRAW, "draw")                                 \
    X(JIQ, "jiq")                                   \
    X(LEAST_TIME, "least_time")                     \
    X(PEAK_EWMA, "peak_ewma")                       \
    X(C3, "c3")                                     \
    X(PREQUAL, "prequal")                           \
    X(HLB, "hlb")                                   \
    X(EQUALISE, "equalise")                         \
    X(LEARNED, "learned")                           \
    X(CHOOSE, "choose")                             \
    X(GSQ, "gsq")                                   \
    X(SRT, "srt")                                   \
    X(SED_ORACLE, "sed_oracle")

typedef enum rllb_balance {
#define RLLB_I_BALANCE_ENUM(id, name) RLLB_BALANCE_##id,
    RLLB_BALANCE_LIST(RLLB_I_BALANCE_ENUM)
#undef RLLB_I_BALANCE_ENUM
    RLLB_BALANCE_NUM
} rllb_balance;

/* "sed" and back; NULL and -1 for what is none. rllb_balance_names: all of them, "sed, nq, ...", for an error. */
RLLB_API const char *rllb_balance_name(rllb_balance policy);
RLLB_API int32_t rllb_balance_of(const char *name);
RLLB_API const char *rllb_balance_names(void);

#define RLLB_BALANCER_SERVERS_MAX 4096
#define RLLB_BALANCER_WORKERS_MAX 256
#define RLLB_BALANCER_SLOTS_MAX 65536
#define RLLB_BALANCER_NAME_MAX 32 /* bytes of a name, its end included */

typedef enum rllb_server_state {
    RLLB_SERVER_NONE,     /* no such server (removed, or never added) */
    RLLB_SERVER_UP,
    RLLB_SERVER_DRAINING, /* no new requests; those in flight may end */
    RLLB_SERVER_DOWN,     /* your health check says so */
    RLLB_SERVER_EJECTED,  /* the guard says so; it comes back by itself */
    RLLB_SERVER_STATE_NUM
} rllb_server_state;

typedef struct rllb_server_desc {
    const char *name; /* for metrics, and what Maglev hashes; copied, cut to fit. NULL: its index */
    float weight;     /* finite and > 0: relative speed. No default */
} rllb_server_desc;

typedef enum rllb_outcome {
    RLLB_OUTCOME_OK,
    RLLB_OUTCOME_FAILED,   /* by the server's fault: counts towards ejection, and as no less than failure_s */
    RLLB_OUTCOME_CANCELLED /* by nobody's: the client went away. No sample */
} rllb_outcome;

typedef enum rllb_ties {
    RLLB_TIES_RANDOM, /* each of the tied with the same chance */
    RLLB_TIES_ROTATE, /* the first at or after a start that moves on with every pick */
    RLLB_TIES_FIRST   /* the lowest index: for tests */
} rllb_ties;

typedef enum rllb_form {
    RLLB_FORM_DEFAULT, /* SED for LEARNED and HLB, DRAW for EQUALISE */
    RLLB_FORM_SED,
    RLLB_FORM_DRAW
} rllb_form;

/* What a controller sees. q: in flight; T: flow durations as they were sampled, those still running included
   (rllb_balancer_sample and _done); C: durations at the end only; decayed: the sample times discount^age, plain mean;
   discounted: the same divided by the sum of discount^age.
       CIKM      6 a server: q, mean T, P90 T, standard deviation T, decayed mean T, decayed P90 T  (CIKM'22)
       NEURIPS   16 + 11 a server. A server: q, then mean, standard deviation, P90, discounted mean, decayed mean of T,
                 then of C; before them the mean of these over the servers, then the five of the times between
                 arrivals at this balancer  (Reinforced Workload Distribution Fairness)
       OWN       8 a server: the six, then the unloaded duration (a low quantile over a long memory, see EQUALISE),
                 then the weight in force over the mean weight
       RELATIVE  6 + 9 a server, free of units and of how many servers there are, so that one model fits many sites; it
                 needs no reservoirs (slots: 1 will do). Of all servers: the mean logarithm of the stretch (duration
                 over unloaded duration), by slow and by fast averages; log(1 + mean q); how far the own q tells the
                 duration (its regression coefficient, times 1 + mean q: about 1 for the only balancer of a busy
                 cluster, 0 for one of very many); log(1 + ends a server in the interval); log2(servers) / 4. A server:
                 what the interval brought against the mean stretch, shrunk where few ended; the fast average, the slow
                 average, the unloaded duration, the weight found and the averaged q, all as logarithms over their
                 geometric means (q: over the mean); log(1 + ends in the interval); how well it is known, 0 ... 1; and
                 how far the own q tells the duration here: about 0 as long as its CPUs are not all busy
   Seconds, not normalised, but for RELATIVE. What nothing was heard of is zero, and all of an index without server. */
typedef enum rllb_features {
    RLLB_FEATURES_CIKM,
    RLLB_FEATURES_NEURIPS,
    RLLB_FEATURES_OWN,
    RLLB_FEATURES_RELATIVE,
    RLLB_FEATURES_NUM
} rllb_features;

/* What an interval was worth: a fairness index of one feature over the servers that have samples, or minus the mean of
   the durations (of their logarithms) of the flows that ended in it. */
typedef enum rllb_reward {
    RLLB_REWARD_JAIN = RLLB_FAIRNESS_JAIN,
    RLLB_REWARD_PRODUCT = RLLB_FAIRNESS_PRODUCT,
    RLLB_REWARD_SINE = RLLB_FAIRNESS_SINE,
    RLLB_REWARD_VARIANCE = RLLB_FAIRNESS_VARIANCE,
    RLLB_REWARD_LOG_VARIANCE = RLLB_FAIRNESS_LOG_VARIANCE,
    RLLB_REWARD_MAX = RLLB_FAIRNESS_MAX,
    RLLB_REWARD_VARIANCE_BOTH = RLLB_FAIRNESS_VARIANCE_BOTH,
    RLLB_REWARD_MEAN = RLLB_FAIRNESS_NUM,
    RLLB_REWARD_MEAN_LOG,
    RLLB_REWARD_NUM
} rllb_reward;

/* The rails. Zero is the default of each; RLLB_OFF switches one off. Shares are of the servers that are neither
   draining nor gone. */
#define RLLB_OFF (-1.0f)
typedef struct rllb_guard {
    float floor, ceiling;   /* weights from a controller or rule, over their mean: 0.01 and 100 */
    float rate;             /* and over those before, per interval: at most times, at least divided by 4 */
    float deadline_s;       /* a controller silent for longer is stale: the fallback policy serves. 5 */
    float eject_failures;   /* failures in a row, seen by one worker, that eject a server: 5 */
    float eject_rate;       /* share of failures among ten or more ends, of one or more intervals, that eject it: 0.5 */
    float eject_s;          /* how long at first, doubled each time: 1 */
    float eject_longest_s;  /* ... up to this: 4. A minute without failures halves it. When it is over the server is
                               sent one request at a time until one goes well; then a failure ejects it again */
    float eject_share;      /* never more than this share is out at once, though always one of two or more: 0.5. What
                               is spared for that serves on at a tenth of its weight */
    float panic;            /* below this share of usable ones the ejected serve again: 0.5 */
    float slow_start_s;     /* a new or returning server's weight grows from a tenth to all in: 5. ROUND_ROBIN, ECMP and
                               the Maglev tables know no such thing */
    float minimum_share;    /* a server that gets less than this of its fair share (by configured weight) is sent a
                               request: 0.01. So is one that got none for a second in which ten were due: then that
                               is up to a tenth of its fair share */
    float failure_s;        /* what a failed request counts as taking at least: 1. Once an ejected server is well again
                               its average begins anew, and a weight that was found before it failed is back */
} rllb_guard;

typedef struct rllb_balancer_desc {
    rllb_balance policy;             /* default SED */
    const rllb_server_desc *servers; /* [count] the first ones; NULL: `count` unnamed ones of weight 1 */
    int32_t count;                   /* 0 ... capacity */
    int32_t capacity;                /* servers at once at most; default: count, or 64 if that is 0 */
    const char *name;                /* of the balancer, in metrics; default "rllb" */
    uint64_t seed, stream;           /* of its own random numbers; each worker's differ */
    rllb_ties ties;

    /* Numbers of single policies. */
    int32_t d;              /* DRAW form: how many are drawn, 1 ... 64; default 3 */
    float a, gamma;         /* DRAW form: exponents; a: 0 means 1, RLLB_OFF means 0; gamma: default 0 */
    float bound;            /* MAGLEV_BOUNDED: default 0.25 */
    int32_t table;          /* MAGLEV: how many entries, a prime; default 65537, or the first above 100 * capacity */
    float ewma_s;           /* PEAK_EWMA: default 10 */
    float clients;          /* C3: how many balancers like this one share the servers; default `workers` */
    float hot;              /* PREQUAL: default 0.84 */
    float reply_s;          /* PREQUAL: age at which a reply is dropped; default 1 */
    int32_t reuse;          /* PREQUAL: picks one reply may serve; default 3 */
    bool by_stretch;        /* EQUALISE: by stretch; default by duration */
    float eta, equalise_s;  /* EQUALISE: default 0.05 (0.02 by stretch) and 2 s */
    rllb_form form;         /* HLB, EQUALISE, LEARNED: what the weights are used for */
    rllb_control_fn control;/* LEARNED: called by tick. NULL: you call rllb_balancer_act */
    void *control_self;
    bool control_form;      /* LEARNED: three more actions after the weights: d, a, gamma of the DRAW form */
    bool control_steps;     /* LEARNED: actions multiply the weights found so far instead of replacing them, each to the
                               power n / (n + 8) after n durations heard of there: who was not heard of stays.
                               RELATIVE: up to 4 n / (n + 2) where the last durations differ from those before */
    float spread;           /* LEARNED with control_steps and RELATIVE: 0 (default) to 3. Where a balancer holds hardly
                               a request at a server at a time, one of many, steps also draw the weights found towards
                               exp(spread * normal), of `seed` and `stream`, each balancer's own: then each sends most
                               to a few servers, of which it hears and sees the more. Give balancers that share servers
                               different seeds or streams. 0: a weight found within 12 % of the configured one is drawn
                               to that, and in (q + 1) / w taken for it, unless this balancer is one of many: so equal
                               servers have equal shares */
    rllb_choose_fn choose;  /* CHOOSE */
    void *choose_self;
    const float *oracle;    /* GSQ, SRT, SED_ORACLE: [capacity], read at every pick. Simulators only */

    /* Observation and reward, by tick. */
    float interval_s;       /* default 0.25 */
    int32_t slots;          /* reservoir samples per server; default 128 (RELATIVE: 1) for HLB, EQUALISE, LEARNED, else
                               0: no reservoirs, no features, no reward */
    float keep;             /* chance that a sample is taken in; default 1 */
    float discount;         /* per second, default 0.9 */
    bool empty_as_zero;     /* empty slots count as zeros, as the published code does; default: they do not count */
    rllb_features features;
    rllb_reward reward;
    int32_t reward_field;   /* which feature of a server, from 1; default the decayed mean of T (5), for NEURIPS the
                               discounted mean of C (10); RELATIVE: 1, the moving average of T in seconds */
    float reward_newest;    /* Eq. 18: share of the newest value, the one before has the rest; default 0.9 */

    /* Trust. */
    rllb_guard guard;
    rllb_balance fallback;  /* serves when the controller is stale, and in shadow mode; one that goes by weights and
                               counts alone (the first seven, P2C to JIQ); default SED */
    bool shadow;            /* decide and count the difference, but serve by the fallback */
    float blend;            /* weights in force: this share of those found, the rest as configured; 0 means all */
    float smoothing;        /* share of the weights before in those that follow a controller's; default 0 */
    rllb_logger logger;

    /* Several processes or threads: each has a handle of its own on one shared block. */
    int32_t workers;        /* how many; default 1 */
    int32_t worker;         /* which one this handle is: 0 ... workers - 1, or -1: only looks after the block */
    void *shared;           /* the block, aligned to 64, rllb_balancer_shared_size bytes; NULL: inside the handle */
    size_t shared_size;
    bool join;              /* the block is in use already: check that it fits, and take this worker's place */
} rllb_balancer_desc;

typedef struct rllb_balancer rllb_balancer;

/* Setup. The block holds offsets and numbers, no pointers: map it anywhere. What servers there are, their weights and
   everything learned live in it; the descriptor's servers count only for the first handle (join false). A worker that
   joins after one that died takes over its place: what that one had in flight is given up and counted as lost. */
RLLB_API void rllb_balancer_desc_default(rllb_balancer_desc *desc); /* all zero */
RLLB_API size_t rllb_balancer_size(const rllb_balancer_desc *desc); /* bytes of a handle; 0: the descriptor is wrong */
RLLB_API size_t rllb_balancer_shared_size(const rllb_balancer_desc *desc); /* bytes of the block */
RLLB_API rllb_status rllb_balancer_init(const rllb_balancer_desc *desc, void *mem, size_t size, rllb_balancer **out);
RLLB_API rllb_balancer *rllb_balancer_create(const rllb_balancer_desc *desc);
RLLB_API void rllb_balancer_destroy(rllb_balancer *b);
RLLB_API void rllb_balancer_query(const rllb_balancer *b, rllb_balancer_desc *resolved); /* servers: NULL */

/* Worker: one thread at a time per handle; never waits, allocates, or calls the system. ----------------------------

   The server for one request, or -1 if none is usable. */
RLLB_API int32_t rllb_balancer_pick(rllb_balancer *b, uint64_t key, double now_s);
/* Another one than those in tried[count], for a retry: least (q + 1) / w (w^a in the DRAW form); -1: there is none. */
RLLB_API int32_t rllb_balancer_pick_other(rllb_balancer *b, const int32_t *tried, int32_t count, double now_s);
/* A request started at that server, by somebody else's choice (another balancer that this one watches, a session that
   sticks), whatever the server's state: as if this handle had picked it, and to be ended by _done all the same. */
RLLB_API rllb_status rllb_balancer_started(rllb_balancer *b, int32_t server, double now_s);
/* The end of a request that this handle picked. A wrong server or a done too many changes nothing; with wrong times the
   request ends but gives no sample. */
RLLB_API rllb_status rllb_balancer_done(rllb_balancer *b, int32_t server, double started_s, double now_s,
                                        rllb_outcome outcome);
/* A hint that changes nothing: soon this handle will pick (server -1), or a request will end at that server. What that
   touches is fetched into the cache meanwhile; worth it where many balancers together are larger than a cache. */
RLLB_API void rllb_balancer_expect(const rllb_balancer *b, int32_t server);
/* A flow is still running after elapsed_s: a sample of its duration so far. */
RLLB_API rllb_status rllb_balancer_sample(rllb_balancer *b, int32_t server, double elapsed_s, double now_s);

/* What a server says of itself: in a probe's reply, a header, an agent's line. NaN: not said. */
typedef struct rllb_report {
    float in_flight;   /* PREQUAL, C3: requests at the server, from all its clients */
    float latency_s;   /* PREQUAL: of requests that started at that in_flight; C3: service time without queueing */
    float utilisation; /* AWCMP: busy workers, CPU, any unit */
} rllb_report;

RLLB_API rllb_status rllb_balancer_report(rllb_balancer *b, int32_t server, const rllb_report *report, double now_s);
/* PREQUAL: up to `most` distinct usable servers to probe now, at random. Published: three per request. */
RLLB_API int32_t rllb_balancer_probe(rllb_balancer *b, int32_t *servers, int32_t most);

/* Keeper: one handle at a time over all workers, any of them or one of its own (worker -1). -----------------------

   Call tick as often as you like; it works once per interval_s and then says true: features and reward are new, the
   weights in force are. */
RLLB_API bool rllb_balancer_tick(rllb_balancer *b, double now_s);
/* The observation of the last tick and how many numbers it has; NULL without slots. Valid until the next tick. */
RLLB_API const float *rllb_balancer_observe(rllb_balancer *b, int32_t *observations);
/* LEARNED: weights for servers 0 ... (and d, a, gamma) from outside. Checked as a whole: a number that is not finite,
   a negative weight, a count that is not that of the servers: refused and counted, what was in force stays. */
RLLB_API rllb_status rllb_balancer_act(rllb_balancer *b, const float *action, int32_t actions, double now_s);
/* What the last interval was worth, and the same over several balancers: durations of the flows of all, or the mean of
   their fairness; with fields_first the fairness of their mean feature, as the published code does. NaN without slots
   and before there is anything to tell. */
RLLB_API double rllb_balancer_reward(const rllb_balancer *b);
RLLB_API double rllb_balancer_reward_shared(rllb_balancer *const *balancers, int32_t count, bool fields_first);

/* Servers come and go while traffic runs; at once for new picks. A removed server's index is given to another only when
   nothing is in flight there. */
RLLB_API rllb_status rllb_balancer_add(rllb_balancer *b, const rllb_server_desc *server, double now_s, int32_t *index);
RLLB_API rllb_status rllb_balancer_remove(rllb_balancer *b, int32_t server, double now_s);
RLLB_API rllb_status rllb_balancer_set_state(rllb_balancer *b, int32_t server, rllb_server_state state, double now_s);
RLLB_API rllb_status rllb_balancer_set_weight(rllb_balancer *b, int32_t server, float weight, double now_s);
/* Shadow mode and blend (0 ... 1, here 0 means none) while traffic runs. */
RLLB_API rllb_status rllb_balancer_set_trust(rllb_balancer *b, bool shadow, float blend, double now_s);
/* A worker is dead and nobody took its place: what it had in flight is given up and counted as lost. */
RLLB_API rllb_status rllb_balancer_resync(rllb_balancer *b, int32_t worker, double now_s);

typedef struct rllb_server_info {
    char name[RLLB_BALANCER_NAME_MAX];
    rllb_server_state state;
    bool usable;                         /* may be picked now, not just to find out: up, or ejected and panic */
    float weight, weight_in_force;       /* configured; what picks use: mean 1 over usable servers, times slow start */
    int64_t in_flight;                   /* picks = done + in_flight + lost */
    uint64_t picks, done, failed, lost, ejections;
    uint64_t samples;                    /* ends whose duration counted ... */
    double duration_sum_s;               /* ... and the sum of these */
    float duration_s, unloaded_s;        /* their mean of late (reservoir, or moving average); the low quantile */
} rllb_server_info;

RLLB_API rllb_status rllb_balancer_server(const rllb_balancer *b, int32_t server, rllb_server_info *out);
RLLB_API int32_t rllb_balancer_servers(const rllb_balancer *b); /* one more than the highest index in use */

/* What was counted over all workers: name, and what it means. */
#define RLLB_COUNTER_LIST(X)                                                              \
    X(no_server, "picks that found no usable server")                                     \
    X(bad_server, "calls that named no server")                                           \
    X(bad_time, "times that were not finite or ran backwards")                            \
    X(stray_done, "ends and samples of requests that were not in flight")                 \
    X(probes, "requests sent to find out how a server is that has none")                  \
    X(choose_refused, "answers of the choose function that were no usable server")        \
    X(shadow_picks, "picks decided in shadow")                                            \
    X(shadow_differs, "picks decided in shadow that would have gone elsewhere")           \
    X(controls, "actions of the controller taken")                                        \
    X(controls_refused, "actions refused: not finite, negative, or of the wrong length")  \
    X(controls_limited, "times a weight of a controller or rule met floor, ceiling or rate") \
    X(fallbacks, "times the controller was found stale")                                  \
    X(ejections, "times a server was ejected")                                            \
    X(ejections_spared, "times a server was not ejected, since too many were out already") \
    X(panics, "times ejected servers were called back because too few were left")         \
    X(lost, "requests in flight that dead workers left")

typedef struct rllb_counters {
#define RLLB_I_COUNTER_FIELD(name, words) uint64_t name;
    RLLB_COUNTER_LIST(RLLB_I_COUNTER_FIELD)
#undef RLLB_I_COUNTER_FIELD
} rllb_counters;

RLLB_API void rllb_balancer_counters(const rllb_balancer *b, rllb_counters *out);

typedef enum rllb_metrics_format {
    RLLB_METRICS_PROMETHEUS, /* text exposition format 0.0.4 */
    RLLB_METRICS_INFLUX      /* line protocol, stamped in nanoseconds; lines of several balancers may be joined */
} rllb_metrics_format;

/* Writes the state of all servers and the counters as text, ended by 0 and never cut within a line. Returns the bytes
   that all of it takes, the 0 included: more than `size` means that not all fitted; 0 for NULL or an unknown format.
   Prometheus: one page; serve two balancers on two. Influx: now_s is Unix time; NaN leaves the stamp out. */
RLLB_API size_t rllb_balancer_metrics(const rllb_balancer *b, rllb_metrics_format format, double now_s, char *text,
                                      size_t size);

/* ---- Q-learning -------------------------------------------------------------------------------------------- */

/* Tabular Q-learning (Watkins 1989) that picks servers: the state is how loaded each server looks, cut into a few
   levels; the action is the server; what a request brought moves one number of a table. Defaults are those of the
   published smart load balancer: 27 states for three servers.

       rllb_qlearn_observe(q, server, metrics);         whenever something of a server is new: the state at hand
       server = rllb_qlearn_choose(q, cost, n);         epsilon-greedy; or rllb_balancer_pick with policy CHOOSE,
                                                        desc.choose = rllb_qlearn_choose, desc.choose_self = q
       step = rllb_qlearn_begin(q, server);             16 bytes that travel with the request
       rllb_qlearn_done(q, &step, elapsed_s, outcome);  its reward, one update

   Requests overlap, so each carries its own state and action, and updates come in the order of the ends. (Where one
   place holds "the latest" state and action for all, as in the published code, a request's reward is booked on another
   one's server.) A cancelled request is no experience: nothing is learned. `begin` takes the server that the request
   really went to, which may be another than was chosen: a guard may overrule, a retry goes elsewhere. Q-learning may
   learn from any action.

   What it cannot do. As long as the levels stay the same, so does the answer: all requests that arrive meanwhile go to
   one server, until its count or its times cross a threshold. Where servers do not queue that is right. Three of 50, 75
   and 100 ms at ten requests a second: 51 ms once learned, in turn 75, least connections 73. Where each request blocks
   its server for 100 ms besides: 526 ms, in turn 177, least connections 180 (tests/test_qlearn.c measures both). The
   level is that of the worst metric, which hides the others. A metric that is the same for all servers, such as the CPU
   of the one host they all run on, says nothing of which to take, and once it is high it hides the rest: leave it NaN
   there. A request that takes longer than failure_cost / cost_per_ms, 10 s, counts as worse than one that failed. And N
   servers have levels^N states, each learned apart: beyond five or six servers most are never met twice. */

#define RLLB_QLEARN_SERVERS_MAX 64
#define RLLB_QLEARN_METRICS_MAX 8
#define RLLB_QLEARN_THRESHOLDS_MAX 7
#define RLLB_QLEARN_DENSE_MAX 1048576   /* states * servers up to which the table is a plain array: 4 MB */
#define RLLB_QLEARN_ENTRIES_MAX 4194304 /* states that a hashed table can hold at most */

typedef struct rllb_qlearn_metric {
    float threshold[RLLB_QLEARN_THRESHOLDS_MAX]; /* ascending; the level is how many of them the value has reached */
    int32_t thresholds;                          /* 1 ... RLLB_QLEARN_THRESHOLDS_MAX */
} rllb_qlearn_metric;

typedef struct rllb_qlearn_desc {
    int32_t servers;             /* 1 ... RLLB_QLEARN_SERVERS_MAX, and levels^servers at most 2^62; no default */
    rllb_qlearn_metric metric[RLLB_QLEARN_METRICS_MAX];
    int32_t metrics;             /* default, published, three: CPU percent from 50 and 80, active requests from 5 and
                                    10, mean response ms from 100 and 200 */
    bool each;                   /* a server's level has a digit for each of its metrics; default: their worst level */
    uint64_t states;             /* your own states 0 ... states - 1 (rllb_qlearn_set_state) in place of metrics */
    int32_t entries;             /* a hashed table for so many states (16 and more, rounded up to a power of two);
                                    default: dense up to RLLB_QLEARN_DENSE_MAX numbers, beyond that 65,536 entries. Each
                                    state has eight places; if they are taken, that of them updated least recently is
                                    given up, and should it come back it begins anew (info.replaced counts) */
    float alpha;                 /* step size, up to 1; default 0.1 */
    float gamma;                 /* discount, below 1; default 0.9, negative: 0 */
    float epsilon, epsilon_min;  /* chance to explore, at first and at least; default 0.1, 0.01; negative: 0 */
    float decay;                 /* of epsilon, each episode; default 0.995, 1: none */
    int32_t episode;             /* a proxy's work never ends: an episode is so many updates. Default 10, a second of
                                    the published traffic: epsilon is at its least after 4,600 requests */
    float initial;               /* value of what was never tried. Default 0, as published. Rewards here are negative,
                                    so 0 is optimistic: each server is tried in each state until its value has sunk to
                                    what it is worth, some hundred requests in a state. The mean reward / (1 - gamma) is
                                    neutral: quicker to settle, and what else is tried is left to epsilon */
    bool ties_by_cost;           /* of equal values the least cost wins; default: any of them with the same chance. In
                                    a state never met all are equal: that is where least connections takes over */
    float cost_per_ms, failure_cost; /* reward: minus cost_per_ms * ms, minus failure_cost; default 0.1 and 1000 */
    uint64_t seed, stream;
} rllb_qlearn_desc;

/* What a request carries. Plain data; action -1: none. */
typedef struct rllb_qlearn_step {
    uint64_t state;
    int32_t action;
} rllb_qlearn_step;

typedef struct rllb_qlearn rllb_qlearn;

RLLB_API void rllb_qlearn_desc_default(rllb_qlearn_desc *desc); /* all zero; servers must be set */
RLLB_API size_t rllb_qlearn_size(const rllb_qlearn_desc *desc); /* bytes; 0 if the descriptor is wrong */
RLLB_API rllb_status rllb_qlearn_init(const rllb_qlearn_desc *desc, void *mem, size_t size, rllb_qlearn **out);
RLLB_API rllb_qlearn *rllb_qlearn_create(const rllb_qlearn_desc *desc);
RLLB_API void rllb_qlearn_destroy(rllb_qlearn *q);
RLLB_API void rllb_qlearn_reset(rllb_qlearn *q); /* back to the state after init, the random sequence included */

/* The state encoder. metrics[desc.metrics] of one server: NaN is not known and does not count, infinite is the worst
   level (say so of a server that cannot be reached); nothing known is level 0, so that it is tried. The state at hand
   is the sum of level * levels^server. At first all levels are 0. */
RLLB_API rllb_status rllb_qlearn_observe(rllb_qlearn *q, int32_t server, const float *metrics);
RLLB_API rllb_status rllb_qlearn_set_state(rllb_qlearn *q, uint64_t state); /* only with states of your own */
RLLB_API uint64_t rllb_qlearn_state(const rllb_qlearn *q);                 /* the state at hand */
RLLB_API int32_t rllb_qlearn_level(const rllb_qlearn *q, int32_t server);  /* and its part for one server; -1: none */

/* The server for one request in the state at hand: with chance epsilon any usable one, else the one of most value. Has
   the shape of rllb_choose_fn. cost[n]: what is finite is usable; NULL: all are. Servers that the table does not know
   are taken, by least cost, only if none of those it knows is usable; -1: none at all is. */
RLLB_API int32_t rllb_qlearn_choose(void *q, const float *cost, int32_t n);
/* The step of a request that goes to `server` now. */
RLLB_API rllb_qlearn_step rllb_qlearn_begin(const rllb_qlearn *q, int32_t server);
/* Its end: the reward of rllb_qlearn_reward, and the state at hand as the one it led to. Cancelled: RLLB_OK, and
   nothing changes. A step that is none, a time that is negative or not finite: refused and counted. */
RLLB_API rllb_status rllb_qlearn_done(rllb_qlearn *q, const rllb_qlearn_step *step, double elapsed_s,
                                      rllb_outcome outcome);
/* One update by a reward and a next state of your own:
       Q(state, action) <- Q + alpha (reward + gamma max Q(next, any) - Q)
   The maximum is over the servers that were usable at the last choice: one that is down and was never tried must not
   promise its initial value. Rewards beyond 1e12 either way are refused. */
RLLB_API rllb_status rllb_qlearn_update(rllb_qlearn *q, const rllb_qlearn_step *step, float reward, uint64_t next);
/* -cost_per_ms * milliseconds, or -failure_cost, whatever it took; NaN for what is neither. */
RLLB_API float rllb_qlearn_reward(const rllb_qlearn *q, double elapsed_s, rllb_outcome outcome);
/* Exploring by hand, 0 ... 1. What is below epsilon_min stays as it is: 0 ends exploring for good. */
RLLB_API rllb_status rllb_qlearn_set_epsilon(rllb_qlearn *q, float epsilon);
/* What is known of a state: values[servers] (NULL: not wanted), and how many updates it had; 0: never met, or given up
   for others. */
RLLB_API uint32_t rllb_qlearn_values(const rllb_qlearn *q, uint64_t state, float *values);

typedef struct rllb_qlearn_info {
    uint64_t states;               /* that there can be */
    uint64_t rows, capacity;       /* that were met, and that there is room for */
    bool dense;
    int32_t levels;                /* of one server; 0 with states of your own */
    double epsilon;                /* now */
    uint64_t choices, explored;    /* explored: taken at random for epsilon's sake */
    uint64_t unseen;               /* choices by value in states never met: all were equal */
    uint64_t no_server;            /* choices that found none usable */
    uint64_t updates, refused;     /* refused: wrong steps, rewards and times */
    uint64_t replaced;             /* hashed: states given up for others */
} rllb_qlearn_info;

/* The descriptor with its defaults filled in, and what was counted; either may be NULL. Of no object: zeros. */
RLLB_API void rllb_qlearn_query(const rllb_qlearn *q, rllb_qlearn_desc *resolved, rllb_qlearn_info *info);

/* The table as bytes, the same on every machine: what was met, epsilon, the counts of info, random numbers; not the
   state at hand. Put them into a file, or take them from one. load refuses as a whole, and changes nothing, what ends
   too early (ERROR_TRUNCATED), is no table or was damaged (ERROR_FORMAT), is of another version (ERROR_VERSION), of
   other servers, states, metrics or kind of table (ERROR_SHAPE), holds what is no number (ERROR_NOT_FINITE), or more
   states than fit in a hashed table of fewer entries (ERROR_LIMIT). */
RLLB_API size_t rllb_qlearn_saved_size(const rllb_qlearn *q);
RLLB_API rllb_status rllb_qlearn_save(const rllb_qlearn *q, void *bytes, size_t size);
RLLB_API rllb_status rllb_qlearn_load(rllb_qlearn *q, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* RLLB_H: stop here if you only use the API */

/* ================================================================================================================
   Implementation */
#if (defined(RLLB_IMPLEMENTATION) || defined(RLLB_STATIC)) && !defined(RLLB_I_DONE)
#define RLLB_I_DONE

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(RLLB_MALLOC) != defined(RLLB_FREE)
#error "define both RLLB_MALLOC and RLLB_FREE, or neither"
#endif
#if !defined(RLLB_NO_MALLOC) && !defined(RLLB_MALLOC)
#include <stdlib.h>
#define RLLB_MALLOC(bytes) malloc(bytes)
#define RLLB_FREE(pointer) free(pointer)
#endif

#if defined(__SANITIZE_ADDRESS__)
#define RLLB_I_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RLLB_I_ASAN 1
#endif
#endif
#ifdef RLLB_I_ASAN
#include <sanitizer/asan_interface.h>
#endif

#ifndef RLLB_FILE
#define RLLB_FILE "rllb.h"
#endif

/* ThreadSanitizer sees single accesses, not whether the processor tears them: it gets the generic kernels only. */
#if defined(__SANITIZE_THREAD__)
#define RLLB_I_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RLLB_I_TSAN 1
#endif
#endif
#if !defined(RLLB_NO_SIMD) && !defined(RLLB_I_TSAN) && defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define RLLB_I_X86 1
#include <immintrin.h>
#elif !defined(RLLB_NO_SIMD) && !defined(RLLB_I_TSAN) && defined(__GNUC__) && defined(__aarch64__)
#define RLLB_I_ARM 1
#include <arm_neon.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- >>status ----------------------------------------------------------------------------------------------
   Codes to words, from the one list. Touches nothing. */

int32_t rllb_version(void)
{
    return RLLB_VERSION;
}

const char *rllb_status_name(rllb_status status)
{
    switch (status) {
#define RLLB_I_CASE(name, words) \
    case RLLB_##name: return "RLLB_" #name;
        RLLB_STATUS_LIST(RLLB_I_CASE)
#undef RLLB_I_CASE
    case RLLB_STATUS_NUM: break;
    }
    return "RLLB_?";
}

const char *rllb_status_words(rllb_status status)
{
    switch (status) {
#define RLLB_I_CASE(name, words) \
    case RLLB_##name: return words;
        RLLB_STATUS_LIST(RLLB_I_CASE)
#undef RLLB_I_CASE
    case RLLB_STATUS_NUM: break;
    }
    return "unknown status";
}

void rllb_log(const rllb_logger *logger, rllb_status status, const char *detail)
{
    if (logger && logger->fn) logger->fn(logger->user, status, detail ? detail : "");
}

/* ---- >>memory ----------------------------------------------------------------------------------------------
   Offsets are counted from the first 64-byte boundary of the block; a block's size has room to reach it. Gaps of
   RLLB_I_GAP bytes keep carved arrays apart where a sanitizer can watch them. */

enum {
    RLLB_I_ALIGN = 64,
#ifdef RLLB_I_ASAN
    RLLB_I_GAP = 64
#else
    RLLB_I_GAP = 0
#endif
};

rllb_status rllb_carver_open(rllb_carver *c, void *mem, size_t size, size_t needed)
{
    uintptr_t skew;

    if (!c || !mem || needed == SIZE_MAX || needed < RLLB_I_ALIGN) return RLLB_ERROR_ARGUMENT;
    if (size < needed) return RLLB_ERROR_MEMORY_SIZE;
#ifdef RLLB_I_ASAN
    ASAN_UNPOISON_MEMORY_REGION(mem, needed);
#endif
    memset(mem, 0, needed);
    skew = (uintptr_t)mem & (RLLB_I_ALIGN - 1);
    c->base = (unsigned char *)mem + (skew ? RLLB_I_ALIGN - skew : 0);
    c->used = 0;
    return RLLB_OK;
}

void *rllb_carve(rllb_carver *c, size_t count, size_t element_bytes)
{
    size_t at = c->used, bytes;

    if (at == SIZE_MAX || (element_bytes && count > (SIZE_MAX / 2) / element_bytes)) {
        c->used = SIZE_MAX;
        return NULL;
    }
    bytes = (count * element_bytes + RLLB_I_ALIGN - 1) & ~(size_t)(RLLB_I_ALIGN - 1);
    if (bytes > SIZE_MAX / 2 - at) {
        c->used = SIZE_MAX;
        return NULL;
    }
    c->used = at + bytes + RLLB_I_GAP;
    if (!c->base) return NULL;
#ifdef RLLB_I_ASAN
    ASAN_POISON_MEMORY_REGION(c->base + at + count * element_bytes, bytes + RLLB_I_GAP - count * element_bytes);
#endif
    return c->base + at;
}

size_t rllb_carver_size(const rllb_carver *c)
{
    return c->used >= SIZE_MAX / 2 ? SIZE_MAX : c->used + RLLB_I_ALIGN;
}

void *rllb_block_alloc(size_t size)
{
#ifdef RLLB_NO_MALLOC
    (void)size;
    return NULL;
#else
    return size == SIZE_MAX || size == 0 ? NULL : RLLB_MALLOC(size);
#endif
}

void rllb_block_free(void *block)
{
#ifdef RLLB_NO_MALLOC
    (void)block;
#else
    if (block) RLLB_FREE(block);
#endif
}

/* ---- >>random ----------------------------------------------------------------------------------------------
   Owns nothing; the state is the caller's. */

static uint64_t rllb_i_splitmix64(uint64_t *counter)
{
    uint64_t z = (*counter += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rllb_rng_init(rllb_rng *r, uint64_t seed, uint64_t stream)
{
    /* The stream is scrambled before it meets the seed, so that (1, 2) and (2, 1) start far apart. */
    uint64_t counter = stream, i;
    counter = seed ^ rllb_i_splitmix64(&counter);
    for (i = 0; i < 4; i++) r->s[i] = rllb_i_splitmix64(&counter);
}

int32_t rllb_rng_below(rllb_rng *r, int32_t n)
{
    uint32_t bound = (uint32_t)n, least;
    uint64_t product;

    if (n < 2) return 0;
    product = (rllb_rng_u64(r) >> 32) * bound;
    if ((uint32_t)product < bound) {
        least = (0u - bound) % bound;
        while ((uint32_t)product < least) product = (rllb_rng_u64(r) >> 32) * bound;
    }
    return (int32_t)(product >> 32);
}

double rllb_rng_exponential(rllb_rng *r, double mean)
{
    return -mean * log(1.0 - rllb_rng_double(r));
}

double rllb_rng_normal(rllb_rng *r)
{
    double u, v, s;
    do {
        u = 2 * rllb_rng_double(r) - 1;
        v = 2 * rllb_rng_double(r) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s <= 0);
    return u * sqrt(-2 * log(s) / s);
}

/* ---- >>stats -----------------------------------------------------------------------------------------------
   Plain structs of the caller; no memory beyond them. */

static int rllb_i_finite(double v)
{
    return v - v == 0; /* isfinite without C99's macro, which C++ spells differently */
}

void rllb_stats_add(rllb_stats *s, double value)
{
    double delta;

    if (!rllb_i_finite(value)) {
        s->refused++;
        return;
    }
    delta = value - s->mean;
    s->least = s->count && s->least < value ? s->least : value;
    s->greatest = s->count && s->greatest > value ? s->greatest : value;
    s->count++;
    s->mean += delta / (double)s->count;
    s->m2 += delta * (value - s->mean);
}

void rllb_stats_merge(rllb_stats *s, const rllb_stats *from)
{
    double total = (double)(s->count + from->count), delta = from->mean - s->mean;
    int64_t refused = s->refused + from->refused;

    if (from->count && !s->count) *s = *from;
    else if (from->count) {
        s->m2 += from->m2 + delta * delta * (double)s->count * (double)from->count / total;
        s->mean += delta * (double)from->count / total;
        s->count += from->count;
        if (from->least < s->least) s->least = from->least;
        if (from->greatest > s->greatest) s->greatest = from->greatest;
    }
    s->refused = refused;
}

double rllb_stats_stddev(const rllb_stats *s)
{
    return s->count < 2 ? 0 : sqrt(s->m2 / (double)(s->count - 1));
}

/* 97.5 % quantile of Student's t: a table where few degrees of freedom bend it, then the expansion in 1/df of
   Abramowitz and Stegun 26.7.5 (error below 2e-5 from df = 9 on). */
static double rllb_i_t975(int64_t df)
{
    static const double small[8] = { 12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004 };
    double z = 1.959964, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z, z9 = z7 * z * z, d = (double)df;

    if (df <= 8) return small[df < 1 ? 0 : df - 1];
    return z + (z3 + z) / (4 * d) + (5 * z5 + 16 * z3 + 3 * z) / (96 * d * d) +
           (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * d * d * d) +
           (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / (92160 * d * d * d * d);
}

double rllb_stats_ci95(const rllb_stats *s)
{
    return s->count < 2 ? 0 : rllb_i_t975(s->count - 1) * rllb_stats_stddev(s) / sqrt((double)s->count);
}

void rllb_decay_add(rllb_decay *d, double value, double now_s)
{
    double age = d->weight > 0 ? now_s - d->last_s : 0, keep;

    if (!rllb_i_finite(value) || !rllb_i_finite(now_s)) return;
    keep = age > 0 && d->half_life_s > 0 ? exp2(-age / d->half_life_s) : 1;
    d->sum = d->sum * keep + value;
    d->weight = d->weight * keep + 1;
    if (age > 0 || d->weight <= 1) d->last_s = now_s;
}

double rllb_decay_mean(const rllb_decay *d)
{
    return d->weight > 0 ? d->sum / d->weight : 0;
}

void rllb_p2_init(rllb_p2 *p, double q)
{
    memset(p, 0, sizeof *p);
    p->q = q > 0 ? (q < 1 ? q : 1) : 0;
}

void rllb_p2_add(rllb_p2 *p, double value)
{
    double *h = p->height, *at = p->position, last, ideal[5];
    int i, cell;

    if (!rllb_i_finite(value)) return;
    if (p->count < 5) { /* keep the first five sorted */
        for (i = (int)p->count; i > 0 && h[i - 1] > value; i--) h[i] = h[i - 1];
        h[i] = value;
        at[p->count] = (double)p->count;
        p->count++;
        return;
    }
    if (value < h[0]) h[0] = value;
    if (value > h[4]) h[4] = value;
    for (cell = 0; cell < 3 && value >= h[cell + 1]; cell++) {}
    for (i = cell + 1; i < 5; i++) at[i] += 1;
    p->count++;
    last = (double)(p->count - 1);
    ideal[0] = 0;
    ideal[1] = last * p->q / 2;
    ideal[2] = last * p->q;
    ideal[3] = last * (1 + p->q) / 2;
    ideal[4] = last;
    for (i = 1; i < 4; i++) {
        double want = ideal[i] - at[i], right = at[i + 1] - at[i], left = at[i - 1] - at[i], step, parabola;
        if (!((want >= 1 && right > 1) || (want <= -1 && left < -1))) continue;
        step = want > 0 ? 1 : -1;
        parabola = h[i] + step / (right - left) *
                              ((step - left) * (h[i + 1] - h[i]) / right + (right - step) * (h[i - 1] - h[i]) / left);
        if (parabola <= h[i - 1] || parabola >= h[i + 1]) { /* bends too far: straight line instead */
            parabola = step > 0 ? h[i] + (h[i + 1] - h[i]) / right : h[i] - (h[i - 1] - h[i]) / left;
        }
        h[i] = parabola;
        at[i] += step;
    }
}

double rllb_p2_query(const rllb_p2 *p)
{
    double at, low;
    int i;

    if (p->count < 1) return 0;
    if (p->count > 5) return p->height[p->q <= 0 ? 0 : p->q >= 1 ? 4 : 2];
    at = p->q * (double)(p->count - 1);
    i = (int)at;
    low = p->height[i];
    return i + 1 < (int)p->count ? low + (at - i) * (p->height[i + 1] - low) : low;
}

/* Hoare's selection: afterwards v[k] is the k-th least, nothing left of it is greater, nothing right is less. */
static void rllb_i_select(float *v, int32_t n, int32_t k)
{
    int32_t left = 0, right = n - 1;
    while (left < right) {
        float pivot = v[left + (right - left) / 2], swap;
        int32_t i = left, j = right;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i > j) break;
            swap = v[i];
            v[i++] = v[j];
            v[j--] = swap;
        }
        if (k <= j) right = j;
        else if (k >= i) left = i;
        else return;
    }
}

float rllb_quantile(float *values, int32_t n, double q)
{
    double at;
    int32_t low, i;
    float next;

    if (n < 1 || !values) return 0;
    at = (q > 0 ? (q < 1 ? q : 1) : 0) * (double)(n - 1);
    low = (int32_t)at;
    rllb_i_select(values, n, low);
    if (low + 1 >= n) return values[low];
    for (next = values[low + 1], i = low + 2; i < n; i++) {
        if (values[i] < next) next = values[i];
    }
    return (float)((double)values[low] + (at - low) * ((double)next - (double)values[low]));
}

/* ---- >>fairness --------------------------------------------------------------------------------------------
   Pure functions of a vector. */

double rllb_fairness(rllb_fairness_kind kind, const float *values, int32_t n)
{
    double sum = 0, squares = 0, greatest = 0, mean, deviation = 0, product = 1;
    int32_t i;

    if (n < 1 || !values) return (double)NAN;
    for (i = 0; i < n; i++) {
        double v = (double)values[i];
        if (!rllb_i_finite(v) || v < 0) return (double)NAN;
        sum += v;
        squares += v * v;
        if (v > greatest) greatest = v;
    }
    mean = sum / n;
    for (i = 0; i < n; i++) {
        double v = (double)values[i], share = greatest > 0 ? v / greatest : 1;
        deviation += (v - mean) * (v - mean) / n;
        product *= kind == RLLB_FAIRNESS_SINE ? sin(1.57079632679489661923 * share) : share;
    }
    switch (kind) {
    case RLLB_FAIRNESS_JAIN: return squares > 0 ? sum * sum / (n * squares) : 1;
    case RLLB_FAIRNESS_PRODUCT:
    case RLLB_FAIRNESS_SINE: return product;
    case RLLB_FAIRNESS_VARIANCE: return -deviation;
    case RLLB_FAIRNESS_LOG_VARIANCE: return -log(deviation + 1e-6);
    case RLLB_FAIRNESS_MAX: return -greatest;
    case RLLB_FAIRNESS_VARIANCE_BOTH: return -deviation - log(deviation + 1e-6);
    case RLLB_FAIRNESS_NUM: break;
    }
    return (double)NAN;
}

/* ---- >>policies --------------------------------------------------------------------------------------------
   One object per policy in use; owns its weights, its place in the round and its random numbers. */

struct rllb_policy {
    rllb_policy_kind kind;
    int32_t servers, next; /* next: where round robin goes on */
    float work;
    double total;     /* sum of weights */
    float *weight;    /* [servers] */
    double *credit;   /* [servers] smooth weighted round robin: how much each is owed */
    float *keep;      /* [servers] alias table: chance to stay at the column drawn ... */
    int32_t *instead; /* [servers] ... and where to go otherwise */
    rllb_rng rng, rng_at_start;
    void *block; /* what create allocated, NULL if the memory is the caller's */
};

static rllb_policy *rllb_i_policy_layout(const rllb_policy_desc *d, rllb_carver *c)
{
    rllb_policy *p = (rllb_policy *)rllb_carve(c, 1, sizeof *p);
    size_t n = (size_t)d->servers;
    float *weight = (float *)rllb_carve(c, n, sizeof(float)), *keep = (float *)rllb_carve(c, n, sizeof(float));
    double *credit = (double *)rllb_carve(c, n, sizeof(double));
    int32_t *instead = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
    if (p) {
        p->weight = weight;
        p->keep = keep;
        p->credit = credit;
        p->instead = instead;
    }
    return p;
}

/* Walker's alias method as Vose (1991) builds it: each column keeps its own server with some chance and otherwise
   names one other. Two scans find columns that hold less than their share and columns that hold more; a large
   column that became small behind the first scan is taken up at once. O(n), exact up to rounding. */
static void rllb_i_alias_build(const float *weight, double total, int32_t n, float *keep, int32_t *instead,
                               double *share)
{
    int32_t i, scan, large;

    for (i = 0; i < n; i++) {
        share[i] = (double)weight[i] * n / total;
        keep[i] = 1;
        instead[i] = i;
    }
    for (scan = 0; scan < n && share[scan] >= 1; scan++) {}
    for (large = 0; large < n && share[large] < 1; large++) {}
    for (i = scan; i < n && large < n;) {
        int32_t giver = large;
        keep[i] = (float)share[i];
        instead[i] = giver;
        share[giver] -= 1 - share[i];
        if (share[giver] < 1) {
            for (large++; large < n && share[large] < 1; large++) {}
        }
        if (giver < scan && share[giver] < 1) {
            i = giver;
        } else {
            for (scan++; scan < n && share[scan] >= 1; scan++) {}
            i = scan;
        }
    }
}

static bool rllb_i_policy_desc_ok(const rllb_policy_desc *d)
{
    int32_t i;

    if (!d || (int)d->kind < 0 || d->kind >= RLLB_POLICY_NUM) return false;
    if (d->servers < 1 || d->servers > RLLB_POLICY_SERVERS_MAX) return false;
    if (!rllb_i_finite((double)d->work) || d->work < 0) return false;
    for (i = 0; d->weights && i < d->servers; i++) {
        if (!rllb_i_finite((double)d->weights[i]) || d->weights[i] <= 0) return false;
    }
    return true;
}

void rllb_policy_desc_default(rllb_policy_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_policy_size(const rllb_policy_desc *desc)
{
    rllb_carver c = { NULL, 0 };

    if (!rllb_i_policy_desc_ok(desc)) return 0;
    rllb_i_policy_layout(desc, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_policy_init(const rllb_policy_desc *desc, void *mem, size_t size, rllb_policy **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_policy *p;
    rllb_status status;
    int32_t i;

    if (!out || !rllb_i_policy_desc_ok(desc)) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&c, mem, size, rllb_policy_size(desc));
    if (status != RLLB_OK) return status;
    p = rllb_i_policy_layout(desc, &c);
    p->kind = desc->kind;
    p->servers = desc->servers;
    p->work = desc->work > 0 ? desc->work : 1;
    for (i = 0; i < p->servers; i++) {
        p->weight[i] = desc->weights ? desc->weights[i] : 1;
        p->total += (double)p->weight[i];
    }
    rllb_i_alias_build(p->weight, p->total, p->servers, p->keep, p->instead, p->credit);
    rllb_rng_init(&p->rng_at_start, desc->seed, desc->stream);
    rllb_policy_reset(p);
    *out = p;
    return RLLB_OK;
}

rllb_policy *rllb_policy_create(const rllb_policy_desc *desc)
{
    size_t size = rllb_policy_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_policy *p = NULL;

    if (block && rllb_policy_init(desc, block, size, &p) == RLLB_OK) {
        p->block = block;
        return p;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_policy_destroy(rllb_policy *p)
{
    if (p) rllb_block_free(p->block);
}

void rllb_policy_reset(rllb_policy *p)
{
    p->next = 0;
    p->rng = p->rng_at_start;
    memset(p->credit, 0, (size_t)p->servers * sizeof *p->credit);
}

static int32_t rllb_i_smooth_round_robin(rllb_policy *p)
{
    int32_t i, best = 0;

    for (i = 0; i < p->servers; i++) {
        p->credit[i] += (double)p->weight[i];
        if (p->credit[i] > p->credit[best]) best = i;
    }
    p->credit[best] -= p->total;
    return best;
}

int32_t rllb_policy_choose(rllb_policy *p, const float *load)
{
    int32_t i, best = -1, n = p->servers;
    float least = INFINITY;

    switch (p->kind) {
    case RLLB_POLICY_ROUND_ROBIN:
        best = p->next;
        p->next = best + 1 < n ? best + 1 : 0;
        return best;
    case RLLB_POLICY_WEIGHTED_ROUND_ROBIN: return rllb_i_smooth_round_robin(p);
    case RLLB_POLICY_RANDOM: return rllb_rng_below(&p->rng, n);
    case RLLB_POLICY_WEIGHTED_RANDOM:
        i = rllb_rng_below(&p->rng, n);
        return rllb_rng_float(&p->rng) < p->keep[i] ? i : p->instead[i];
    case RLLB_POLICY_LEAST_LOAD:
    case RLLB_POLICY_SED:
    case RLLB_POLICY_LEAST_LOAD_AHEAD:
    case RLLB_POLICY_NUM: break;
    }
    for (i = 0; load && i < n; i++) {
        float cost = load[i];
        if (p->kind == RLLB_POLICY_SED) cost = (load[i] + p->work) / p->weight[i];
        if (p->kind == RLLB_POLICY_LEAST_LOAD_AHEAD) cost = load[i] - p->weight[i];
        if (cost < least || (best < 0 && cost == cost)) { /* the first number wins over NaN, even if infinite */
            least = cost;
            best = i;
        }
    }
    return best < 0 ? 0 : best;
}

const char *rllb_policy_name(rllb_policy_kind kind)
{
    switch (kind) {
#define RLLB_I_CASE(id, name) \
    case RLLB_POLICY_##id: return name;
        RLLB_POLICY_LIST(RLLB_I_CASE)
#undef RLLB_I_CASE
    case RLLB_POLICY_NUM: break;
    }
    return NULL;
}

int32_t rllb_policy_kind_of(const char *name)
{
    int32_t kind;

    for (kind = 0; name && kind < (int32_t)RLLB_POLICY_NUM; kind++) {
        const char *known = rllb_policy_name((rllb_policy_kind)kind);
        if (known && strcmp(name, known) == 0) return kind;
    }
    return -1;
}

/* ---- >>scans -----------------------------------------------------------------------------------------------
   What runs over all servers at a pick, and over all samples at a tick: stamped once per instruction set from the
   template at the end of the file. Every set gives the same bits. Touches only what it is handed. */

#if defined(__GNUC__)
#define RLLB_I_ATTR(x) __attribute__((x))
#define RLLB_I_ALWAYS_INLINE inline __attribute__((always_inline))
#define RLLB_I_ALIGNED(declaration) declaration __attribute__((aligned(64)))
#else
#define RLLB_I_ATTR(x)
#define RLLB_I_ALWAYS_INLINE inline
#define RLLB_I_ALIGNED(declaration) declaration
#endif
#if defined(RLLB_I_ASAN) || !defined(__GNUC__)
#define RLLB_I_UNROLL
#elif defined(__clang__)
#define RLLB_I_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RLLB_I_UNROLL _Pragma("GCC unroll 16")
#endif

/* Of the values v and their freshness f in [0, 1]. */
typedef struct rllb_i_moments {
    float mean, stddev; /* of v alone; stddev of the population */
    float decayed;      /* sum(v f) / n */
    float discounted;   /* sum(v f) / sum(f) */
} rllb_i_moments;

/* What is known of each block of 64 servers: who ties with its least, that, the greatest cost that does, how many. */
typedef struct rllb_i_blocks {
    uint64_t tied[RLLB_BALANCER_SERVERS_MAX / 64];
    int32_t least[RLLB_BALANCER_SERVERS_MAX / 64], most[RLLB_BALANCER_SERVERS_MAX / 64];
    int32_t ties[RLLB_BALANCER_SERVERS_MAX / 64];
} rllb_i_blocks;

/* Pointers are aligned to 64 bytes, arrays padded to a multiple of 16; what each does stands at the template. */
typedef struct rllb_i_kernels {
    const char *name;
    int32_t (*least)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                     uint64_t *words);
    int32_t (*least_idle)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                          uint64_t *words);
    int32_t (*pick)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                    bool idle_first, uint32_t random);
    int32_t (*pick_blocks)(rllb_i_blocks *known, const int32_t *counts, const float *scale, int32_t n,
                           bool idle_first, uint64_t changed, uint32_t random);
    int32_t (*bit)(uint64_t word, int32_t rank);
    int32_t (*split)(const uint64_t *slots, int32_t count, uint32_t now, float *value, float *age_s);
    void (*reduce)(const float *v, const float *age_s, int32_t n, float rate, float *product, rllb_i_moments *out);
    float (*quantile)(const float *v, int32_t n, double q);
} rllb_i_kernels;

/* Read from element 16 - r on: clear in the first r of 16 lanes, all bits but the sign in the others. */
#define RLLB_I_16(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
static const RLLB_I_ALIGNED(int32_t rllb_i_scan_outside[32]) = { RLLB_I_16(0), RLLB_I_16(0x7fffffff) };
#undef RLLB_I_16

/* Inlined by force: functions under other options, as the kernels are, would call them. */
static RLLB_I_ALWAYS_INLINE int32_t rllb_i_bits_of(float f)
{
    int32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static RLLB_I_ALWAYS_INLINE float rllb_i_float_of(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Index of the lowest bit that is set; one is. */
static RLLB_I_ALWAYS_INLINE int32_t rllb_i_lowest(uint64_t word)
{
#if defined(__GNUC__)
    return __builtin_ctzll(word);
#else
    int32_t i = 0;
    while (!(word >> i & 1)) i++;
    return i;
#endif
}

/* The quantile's next pivot, in [first, last). These are bits of floats: the value of rank k lies between; `under`
   values are less than `first`, `upto` are at most `last`. Interpolates between bits, which is about logarithms, for
   durations have long tails. Where that takes long, halving bounds the number of passes: 16 + 31. */
static RLLB_I_ALWAYS_INLINE int32_t rllb_i_pivot(int32_t first, int32_t last, int32_t k, int32_t under, int32_t upto,
                                                 int32_t pass)
{
    float share = pass < 16 ? (float)(k - under) / (float)(upto - 1 - under) : 0.5f;
    int32_t pivot = first + (int32_t)((float)(last - first) * share);
    return pivot < last ? pivot : last - 1;
}

#if defined(__GNUC__)
#define RLLB_I_LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#else
#define RLLB_I_LOAD(p) (*(p))
#endif
#define RLLB_I_TICKS_PER_S 1024.0 /* of a sample's time; half of 32 bits of them are 24 days */

/* Contraction of a * b + c into a fused operation would make bits depend on the machine: off while stamping. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off", "no-math-errno")
#endif

#define RLLB_I_GENERIC 1
#define RLLB_I_SSE2 2
#define RLLB_I_AVX2 3
#define RLLB_I_AVX512 4
#define RLLB_I_NEON 5

#define RLLB_I_STAMP RLLB_I_GENERIC
#include RLLB_FILE
#undef RLLB_I_STAMP
#ifdef RLLB_I_X86
#define RLLB_I_STAMP RLLB_I_SSE2
#include RLLB_FILE
#undef RLLB_I_STAMP
#define RLLB_I_STAMP RLLB_I_AVX2
#include RLLB_FILE
#undef RLLB_I_STAMP
#define RLLB_I_STAMP RLLB_I_AVX512
#include RLLB_FILE
#undef RLLB_I_STAMP
#endif
#ifdef RLLB_I_ARM
#define RLLB_I_STAMP RLLB_I_NEON
#include RLLB_FILE
#undef RLLB_I_STAMP
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

/* The widest that this processor and this build have. */
static const rllb_i_kernels *rllb_i_kernels_best(void)
{
#ifdef RLLB_I_X86
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) {
        return __builtin_cpu_supports("avx512f") ? &rllb_i_scan_kernels_avx512 : &rllb_i_scan_kernels_avx2;
    }
    if (__builtin_cpu_supports("sse2")) return &rllb_i_scan_kernels_sse2;
#endif
#ifdef RLLB_I_ARM
    return &rllb_i_scan_kernels_neon;
#else
    return &rllb_i_scan_kernels_generic;
#endif
}

#if defined(__GNUC__)
#define RLLB_I_PREFETCH(p) __builtin_prefetch((p), 1)
#else
#define RLLB_I_PREFETCH(p) ((void)(p))
#endif

/* Kept out of line: what few policies need must not make room for itself in every pick. */
#define RLLB_I_APART RLLB_I_ATTR(noinline)

/* ---- >>shared ----------------------------------------------------------------------------------------------
   What the workers of a balancer share, word by word. Counters are written by one worker each and read by all, so a
   load and a store that cannot tear are all that is needed. The weights in force are published in two areas in turn, so
   that a keeper that dies while it writes one leaves the other whole, and readers never wait: what they cannot copy
   whole now they copy at a later pick. Floats travel as their bits. */

#if defined(__GNUC__)
#define RLLB_I_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define RLLB_I_LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define RLLB_I_STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define RLLB_I_EXCHANGE(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define RLLB_I_FETCH_ADD(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
enum { RLLB_I_WORKERS = sizeof(void *) >= 8 ? RLLB_BALANCER_WORKERS_MAX : 1 }; /* 64-bit words must be atomic */
#else
#define RLLB_I_STORE(p, v) (*(p) = (v))
#define RLLB_I_LOAD_ACQUIRE(p) (*(p))
#define RLLB_I_STORE_RELEASE(p, v) (*(p) = (v))
#define RLLB_I_EXCHANGE(p, v) (*(p) = (v))
#define RLLB_I_FETCH_ADD(p, v) (*(p))
enum { RLLB_I_WORKERS = 1 };
#endif

enum {
    RLLB_I_MAGIC = 0x626c6c72, /* "rllb" */
    RLLB_I_LAYOUT = 4,         /* changes when the block's does */
    RLLB_I_DRAWS = 64,
    RLLB_I_STARVED = 16,
    RLLB_I_POOL = 16,          /* replies of servers, and how many in-flight numbers of late tell hot from cold */
    RLLB_I_HEARD = 64,
    RLLB_I_LOG = 1024,         /* picks and ends whose server a handle remembers; a power of two */
    RLLB_I_SET_WORDS = 5 /* of a published set, per server: see rllb_i_set */
};
#define RLLB_I_SAME 0.12          /* logarithms: a found weight that close to the configured one may be the same */
#define RLLB_I_TIME_MAX 1e12      /* seconds either way: what is taken for a time */

/* One worker's record of one server; only that worker writes it. One cache line. */
typedef struct rllb_i_cell {
    uint64_t picks, done, failed, lost, samples;
    uint64_t duration_sum; /* double: of the durations taken */
    int32_t streak;      /* failures in a row */
    int32_t average;     /* float: moving average of durations; 0: none yet */
    int32_t utilisation; /* float: last reported; NaN: never */
    int32_t spare;
} rllb_i_cell;

/* One worker's record of everything else. */
enum {
#define RLLB_I_COUNTER_ENUM(name, words) RLLB_I_COUNT_##name,
    RLLB_COUNTER_LIST(RLLB_I_COUNTER_ENUM)
#undef RLLB_I_COUNTER_ENUM
    RLLB_I_SAMPLES,  /* durations taken */
    RLLB_I_SUM,      /* double: of them */
    RLLB_I_LOG_SUM,  /* double: of their logarithms */
    RLLB_I_FLOWS,    /* in flight, all servers: for MAGLEV_BOUNDED */
    RLLB_I_SCALARS = 24
};

/* The keeper's record of one server. */
typedef struct rllb_i_server {
    char name[RLLB_BALANCER_NAME_MAX];
    float in_force;
    float unloaded;         /* duration in quiet moments, over a long memory */
    float field, smoothed;  /* what the reward looks at; -1: no samples */
    float kalman, kalman_variance;
    int32_t generation;     /* how many have had this index */
    int32_t served;         /* well, in probation */
    double until_s, since_s, calm_since_s;
    uint64_t ejections, samples_at_start, heard; /* heard: samples that `unloaded` knows of */
    double told_sum;        /* RELATIVE: of durations, and how many, up to the last tick */
    uint64_t told, stepped; /* stepped: samples that control_steps knows of */
    float slow, flows;      /* RELATIVE: slow average of durations, averaged in flight ... */
    float flows_at_tick;    /* ... and in flight at the last tick */
    float apart;            /* logarithm of the weight that `spread` draws towards */
    double view_xy, view_xx; /* RELATIVE: own flows against durations */
    /* What every tick that sees it in use touches, kept together. */
    int32_t state;
    bool usable, probation;
    float weight;           /* as configured */
    float found;            /* by controller or rule, over the mean; 0: not yet */
    float found_at_tick;    /* what the rate of change is measured from */
    float sound;            /* found, when last it was up and failed nothing */
    float duration;         /* mean of late */
    int32_t level;          /* how often ejected of late */
    uint64_t seen_picks, seen_done, seen_failed, recent_done, recent_failed, seen_samples;
    double dry_from;        /* picks of all, as of the tick that saw its own latest; -1: this tick */
    double picked_s;        /* that tick */
} rllb_i_server;

typedef struct rllb_i_interval {
    double sum, log_sum, count;
} rllb_i_interval;

typedef struct rllb_i_head {
    uint32_t magic, layout;
    uint64_t bytes, table_bytes;
    int32_t capacity, workers, slots, features, policy;
    uint32_t sequence;      /* of what is published: area sequence % 2 is in force */
    uint32_t begun;         /* the latest that was begun: sequence + 1 while it is written */
    int32_t used;           /* one more than the highest index in use */
    int32_t table_turn;     /* which of the two tables is in force */
    bool table_stale;
    bool ticked, shadow, stale, panic, told; /* told: a reward is there */
    bool quiet;             /* as long as nothing fails and nobody starves, a tick changes no weight */
    float blend, d, a, gamma;
    double tick_s, act_s, rule_s, reward;
    double picked, thirst;  /* picks that ticks saw; how many there are before a server may starve */
    int32_t tick, starved, starving[RLLB_I_STARVED]; /* ticks so far; whom the latest found starving */
    rllb_i_interval before, latest, total; /* of ended flows: the two last intervals, and all up to the last */
    double view_xy, view_xx; /* RELATIVE: own flows against durations */
    char name[RLLB_BALANCER_NAME_MAX];
} rllb_i_head;

/* What is published: this, then two sets, what acts and what would in shadow, then the generation of each server: a
   handle forgets what it knew of an index when another server has it. */
typedef struct rllb_i_published {
    int32_t policy, used, live, d, suspensions, starved, table_turn, shadow;
    int32_t weight_sum; /* float: of the acting set */
    int32_t tick;       /* which one listed the starving */
    int32_t starving[RLLB_I_STARVED];
    int32_t spare[64 - 10 - RLLB_I_STARVED];
} rllb_i_published;

typedef struct rllb_i_alias {
    int32_t keep; /* in 2^24ths */
    int32_t instead;
} rllb_i_alias;

/* One way to pick, as one handle sees it. The arrays lie in its copy of what is published. */
typedef struct rllb_i_mind {
    rllb_balance how;
    const float *scale;        /* [stride] what (q + 1) is multiplied by; infinite: not usable. Aligned to 64 */
    const float *weight;       /* [stride] 0: not usable */
    const rllb_i_alias *alias; /* [used] */
    const int32_t *live;       /* [live] the usable servers */
    double *credit;            /* [stride] WEIGHTED_ROUND_ROBIN */
    uint32_t turn;             /* where it is to go on: an index, for ROUND_ROBIN ... */
    int32_t place;             /* ... and where in `live` that is */
    rllb_rng rng;
} rllb_i_mind;

typedef struct rllb_i_reply {
    int32_t server, uses;
    float in_flight, latency_s;
    double at_s;
} rllb_i_reply;

struct rllb_balancer {
    /* what every pick touches */
    rllb_i_head *head;
    uint32_t adopted; /* sequence of what this handle has copied */
    int32_t extras;   /* what a pick has to do besides: RLLB_I_OWED ... */
    const rllb_i_published *now;
    double now_s;
    const rllb_i_kernels *k;
    int32_t *in_flight, *own; /* [workers][stride]; this worker's row */
    rllb_i_cell *cells, *mine;
    uint64_t logged; /* picks and ends so far; the servers of the latest are in `log` */
    int32_t stride, workers, lane, used, live, d;
    rllb_ties ties;
    bool keeper_only, counts_flows;
    rllb_i_mind mind[2];
    uint64_t *scalars, *count; /* [lanes][RLLB_I_SCALARS] */

    /* what a done touches */
    bool failed; /* since the last tick, or that is not known */
    uint64_t *slots, *ends, *arrivals; /* [lanes] [stride] [lane_slots]; the last without servers. Samples */
    int32_t lane_slots, suspensions;
    uint32_t keep_below;
    float newest; /* share of the newest duration in the moving average */

    /* the rest */
    rllb_balancer_desc desc;
    rllb_i_server *server;
    uint16_t *table; /* [2][table] */
    int32_t *published; /* [2][words] */
    int32_t *copy[2], *draft;
    size_t set_words, words; /* of a set, of an area */
    int32_t table_turn, tick, owed, owing[RLLB_I_STARVED], replies;
    float mean_average, weight_sum, *time_scale, *service, *queue, *costs;
    int32_t *nobody;     /* [stride] zeros */
    int32_t *generation; /* [stride] of the servers as last seen */
    double *stamp_s, arrived_s;
    rllb_i_reply reply[RLLB_I_POOL];
    float *heard, hot_above; /* [RLLB_I_HEARD] in-flight of the latest replies, and the quantile of these */
    int32_t heard_count;
    float *value, *age, *product, *observation, *action;
    double mean_weight; /* as configured, of the usable servers */
    double *share; /* this and the next three: room for building alias and Maglev tables */
    float *keep;
    int32_t *instead;
    uint32_t *offset, *skip;
    int32_t observations, padded_slots;
    char name[RLLB_BALANCER_NAME_MAX];
    void *block;
    uint64_t ticked, scanned; /* `logged` as of this handle's last tick and scan by blocks ... */
    const float *scanned_by;  /* ... of this (NULL: `blocks` do not hold) ... */
    bool scanned_idle;        /* ... in this way */
    rllb_i_blocks blocks;
    uint16_t log[RLLB_I_LOG]; /* a ring */
};

enum { RLLB_I_OWED = 1, RLLB_I_SHADOW = 2, RLLB_I_ARRIVALS = 4 };

static void rllb_i_add_to(uint64_t *word, uint64_t n)
{
    RLLB_I_STORE(word, RLLB_I_LOAD(word) + n);
}

static double rllb_i_load_double(const uint64_t *word)
{
    uint64_t bits = RLLB_I_LOAD(word);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void rllb_i_add_double(uint64_t *word, double v)
{
    uint64_t bits;
    v += rllb_i_load_double(word);
    memcpy(&bits, &v, sizeof bits);
    RLLB_I_STORE(word, bits);
}

static uint64_t rllb_i_mix(uint64_t z)
{
    return rllb_i_splitmix64(&z);
}

/* Counted by this handle, whichever it is. */
#define RLLB_I_TALLY(b, name) rllb_i_add_to(&(b)->count[RLLB_I_COUNT_##name], 1)

static int32_t rllb_i_flows(const rllb_balancer *b, int32_t server)
{
    int32_t w, q = RLLB_I_LOAD(&b->in_flight[server]);

    for (w = 1; w < b->workers; w++) q += RLLB_I_LOAD(&b->in_flight[(size_t)w * (size_t)b->stride + (size_t)server]);
    return q;
}

/* What all workers counted at one server. */
typedef struct rllb_i_ends {
    uint64_t picks, done, failed, lost, samples;
    double duration_sum;
    int32_t streak;
} rllb_i_ends;

static void rllb_i_ends_of(const rllb_balancer *b, int32_t j, rllb_i_ends *out)
{
    int32_t w;

    memset(out, 0, sizeof *out);
    for (w = 0; w < b->workers; w++) {
        const rllb_i_cell *cell = &b->cells[(size_t)w * (size_t)b->stride + (size_t)j];
        int32_t streak = RLLB_I_LOAD(&cell->streak);
        out->done += RLLB_I_LOAD(&cell->done); /* before picks, so that done never seems the greater */
        out->failed += RLLB_I_LOAD(&cell->failed);
        out->samples += RLLB_I_LOAD(&cell->samples);
        out->duration_sum += rllb_i_load_double(&cell->duration_sum);
        out->lost += RLLB_I_LOAD(&cell->lost);
        out->picks += RLLB_I_LOAD(&cell->picks);
        if (streak > out->streak) out->streak = streak;
    }
}

/* A server's moving average over the workers that have one. */
static float rllb_i_average_of(const rllb_balancer *b, int32_t j)
{
    float sum = 0;
    int32_t w, n = 0;

    for (w = 0; w < b->workers; w++) {
        float average = rllb_i_float_of(RLLB_I_LOAD(&b->cells[(size_t)w * (size_t)b->stride + (size_t)j].average));
        if (!(average > 0)) continue;
        sum += average;
        n++;
    }
    return n ? sum / (float)n : 0;
}

/* Sets of features: numbers of all servers, numbers of each, fields a reward may take, the default one. */
typedef struct rllb_i_sight {
    int32_t common, per, fields, field;
} rllb_i_sight;

static const rllb_i_sight rllb_i_seen[RLLB_FEATURES_NUM] = {
    { 0, 6, 6, 5 }, { 16, 11, 11, 10 }, { 0, 8, 8, 5 }, { 6, 9, 1, 1 }
};

/* ---- >>balancer --------------------------------------------------------------------------------------------
   Descriptor, layout, init. A handle is local to its process and may hold pointers; the block that handles share holds
   none. Both are laid out from the resolved descriptor alone, so nothing found in a block is trusted as an address. */

const char *rllb_balance_name(rllb_balance policy)
{
    switch (policy) {
#define RLLB_I_CASE(id, name) \
    case RLLB_BALANCE_##id: return name;
        RLLB_BALANCE_LIST(RLLB_I_CASE)
#undef RLLB_I_CASE
    case RLLB_BALANCE_NUM: break;
    }
    return NULL;
}

int32_t rllb_balance_of(const char *name)
{
    int32_t policy;

    for (policy = 0; name && policy < (int32_t)RLLB_BALANCE_NUM; policy++) {
        if (strcmp(name, rllb_balance_name((rllb_balance)policy)) == 0) return policy;
    }
    return -1;
}

const char *rllb_balance_names(void)
{
#define RLLB_I_COMMA(id, name) ", " name
    static const char names[] = RLLB_BALANCE_LIST(RLLB_I_COMMA);
#undef RLLB_I_COMMA
    return names + 2;
}

/* Policies whose weights are found while traffic runs. */
static bool rllb_i_finds(rllb_balance policy)
{
    return policy == RLLB_BALANCE_AWCMP || policy == RLLB_BALANCE_HLB || policy == RLLB_BALANCE_EQUALISE ||
           policy == RLLB_BALANCE_LEARNED;
}

static bool rllb_i_is_maglev(rllb_balance policy)
{
    return policy == RLLB_BALANCE_MAGLEV || policy == RLLB_BALANCE_MAGLEV_BOUNDED;
}

static bool rllb_i_is_oracle(rllb_balance policy)
{
    return policy == RLLB_BALANCE_GSQ || policy == RLLB_BALANCE_SRT || policy == RLLB_BALANCE_SED_ORACLE;
}

/* Those that need nothing but servers, weights and counts. */
static bool rllb_i_may_fall_back(rllb_balance fallback)
{
    return fallback <= RLLB_BALANCE_WCMP || (fallback >= RLLB_BALANCE_P2C && fallback <= RLLB_BALANCE_JIQ);
}

/* The policy by whose dispatch rule `policy` picks. */
static rllb_balance rllb_i_dispatch(const rllb_balancer_desc *d, rllb_balance policy)
{
    if (policy == RLLB_BALANCE_AWCMP) return RLLB_BALANCE_WCMP;
    if (!rllb_i_finds(policy)) return policy;
    if (d->form == RLLB_FORM_DEFAULT) return policy == RLLB_BALANCE_EQUALISE ? RLLB_BALANCE_DRAW : RLLB_BALANCE_SED;
    return d->form == RLLB_FORM_DRAW ? RLLB_BALANCE_DRAW : RLLB_BALANCE_SED;
}

static bool rllb_i_is_prime(int32_t n)
{
    int32_t i;

    for (i = 2; i <= n / i; i++) {
        if (n % i == 0) return false;
    }
    return n > 1;
}

static bool rllb_i_weight_ok(float weight)
{
    return weight > 0 && rllb_i_finite((double)weight);
}

/* Takes the default if it is zero; then it must be in [least, most]. */
static bool rllb_i_settle(float *field, float standard, float least, float most)
{
    if (*field == 0) *field = standard;
    return *field >= least && *field <= most;
}

/* The same for a rail, which may also be off. */
static bool rllb_i_settle_rail(float *field, float standard, float least, float most)
{
    if (*field < 0) *field = RLLB_OFF;
    return *field < 0 || rllb_i_settle(field, standard, least, most);
}

static bool rllb_i_guard_resolve(rllb_guard *g)
{
    const float most = 1e9f;
    bool ok = rllb_i_settle_rail(&g->floor, 0.01f, 0, 1) && rllb_i_settle_rail(&g->ceiling, 100, 1, most);

    ok = ok && rllb_i_settle_rail(&g->rate, 4, 1, most) && rllb_i_settle_rail(&g->deadline_s, 5, 0, most);
    ok = ok && rllb_i_settle_rail(&g->eject_failures, 5, 1, most) && rllb_i_settle_rail(&g->eject_rate, 0.5f, 0, 1);
    ok = ok && rllb_i_settle_rail(&g->eject_s, 1, 0, most) && rllb_i_settle_rail(&g->eject_longest_s, 4, 0, most);
    ok = ok && rllb_i_settle_rail(&g->eject_share, 0.5f, 0, 1) && rllb_i_settle_rail(&g->panic, 0.5f, 0, 1);
    ok = ok && rllb_i_settle_rail(&g->slow_start_s, 5, 0, most) && rllb_i_settle_rail(&g->minimum_share, 0.01f, 0, 1);
    return ok && rllb_i_settle_rail(&g->failure_s, 1, 0, most);
}

static bool rllb_i_numbers_resolve(rllb_balancer_desc *d)
{
    const float most = 1e9f;
    bool by_default = d->policy == RLLB_BALANCE_HLB || d->policy == RLLB_BALANCE_EQUALISE ||
                      d->policy == RLLB_BALANCE_LEARNED, ok;

    if (d->d == 0) d->d = 3;
    if (d->a == 0) d->a = 1;
    else if (d->a < 0) d->a = RLLB_OFF;
    if (d->table == 0) {
        d->table = d->capacity > 655 ? 100 * d->capacity + 1 : 65537;
        while (!rllb_i_is_prime(d->table)) d->table += 2;
    }
    if (d->reuse == 0) d->reuse = 3;
    if (d->slots == 0 && by_default) d->slots = d->features == RLLB_FEATURES_RELATIVE ? 1 : 128;
    if (d->reward_field == 0) d->reward_field = rllb_i_seen[d->features].field;
    ok = d->d > 0 && d->d <= RLLB_I_DRAWS && (d->a < 0 || rllb_i_settle(&d->a, 1, 0, 16));
    ok = ok && d->gamma >= 0 && d->gamma <= 16 && rllb_i_settle(&d->bound, 0.25f, 0, most) && d->reuse > 0;
    ok = ok && d->table >= d->capacity && d->table <= 16777213;
    ok = ok && (!rllb_i_is_maglev(d->policy) || rllb_i_is_prime(d->table));
    ok = ok && rllb_i_settle(&d->ewma_s, 10, 0, most) && rllb_i_settle(&d->clients, (float)d->workers, 0, most);
    ok = ok && rllb_i_settle(&d->hot, 0.84f, 0, 1) && rllb_i_settle(&d->reply_s, 1, 0, most);
    ok = ok && rllb_i_settle(&d->eta, d->by_stretch ? 0.02f : 0.05f, 0, 1) && rllb_i_settle(&d->equalise_s, 2, 0, most);
    ok = ok && rllb_i_settle(&d->interval_s, 0.25f, 0, most) && d->slots >= 0 && d->slots <= RLLB_BALANCER_SLOTS_MAX;
    ok = ok && (d->slots > 0 || !by_default) && rllb_i_settle(&d->keep, 1, 0, 1);
    ok = ok && rllb_i_settle(&d->discount, 0.9f, 0, 1) && rllb_i_settle(&d->reward_newest, 0.9f, 0, 1);
    ok = ok && d->reward_field > 0 && d->reward_field <= rllb_i_seen[d->features].fields;
    ok = ok && d->spread >= 0 && d->spread <= 3;
    return ok && d->blend >= 0 && d->blend <= 1 && d->smoothing >= 0 && d->smoothing < 1;
}

/* Defaults filled in, and what is wrong refused. */
static rllb_status rllb_i_balancer_resolve(const rllb_balancer_desc *desc, rllb_balancer_desc *d)
{
    int32_t i;
    bool ok;

    if (!desc) return RLLB_ERROR_ARGUMENT;
    *d = *desc;
    if (d->capacity == 0) d->capacity = d->count > 0 ? d->count : 64;
    if (d->workers == 0) d->workers = 1;
    if (!d->name) d->name = "rllb";
    ok = (int)d->policy >= 0 && d->policy < RLLB_BALANCE_NUM && (int)d->fallback >= 0 && d->fallback < RLLB_BALANCE_NUM;
    ok = ok && (int)d->ties >= 0 && d->ties <= RLLB_TIES_FIRST && (int)d->form >= 0 && d->form <= RLLB_FORM_DRAW;
    ok = ok && (int)d->features >= 0 && d->features < RLLB_FEATURES_NUM;
    ok = ok && (int)d->reward >= 0 && d->reward < RLLB_REWARD_NUM;
    ok = ok && d->capacity > 0 && d->count >= 0 && d->workers > 0 && d->worker >= -1 && d->worker < d->workers;
    if (!ok) return RLLB_ERROR_ARGUMENT;
    if (d->capacity > RLLB_BALANCER_SERVERS_MAX || d->workers > RLLB_I_WORKERS) return RLLB_ERROR_LIMIT;
    if (d->count > d->capacity) return RLLB_ERROR_LIMIT;
    for (i = 0; d->servers && i < d->count; i++) {
        if (!rllb_i_weight_ok(d->servers[i].weight)) return RLLB_ERROR_ARGUMENT;
    }
    ok = rllb_i_numbers_resolve(d) && rllb_i_guard_resolve(&d->guard);
    ok = ok && (!rllb_i_is_oracle(d->policy) || d->oracle) && (d->policy != RLLB_BALANCE_CHOOSE || d->choose);
    ok = ok && rllb_i_may_fall_back(d->fallback);
    return ok ? RLLB_OK : RLLB_ERROR_ARGUMENT;
}

/* The numbers that both layouts start from. */
static void rllb_i_balancer_measure(rllb_balancer *b)
{
    const rllb_balancer_desc *d = &b->desc;
    const rllb_i_sight *seen = &rllb_i_seen[d->features];

    b->workers = d->workers;
    b->stride = (d->capacity + 15) & ~15;
    b->lane_slots = d->slots ? (d->slots + d->workers - 1) / d->workers : 0;
    b->padded_slots = (b->lane_slots * d->workers + 15) & ~15;
    b->set_words = (size_t)b->stride * RLLB_I_SET_WORDS;
    b->words = sizeof(rllb_i_published) / sizeof(int32_t) + 2 * b->set_words + (size_t)b->stride;
    b->observations = d->capacity * seen->per + seen->common;
}

/* Carves what handles share. */
static void rllb_i_block_layout(rllb_balancer *b, rllb_carver *c)
{
    const rllb_balancer_desc *d = &b->desc;
    size_t n = (size_t)b->stride, workers = (size_t)b->workers, slots = (size_t)b->lane_slots;
    bool more = d->features == RLLB_FEATURES_NEURIPS;

    b->head = (rllb_i_head *)rllb_carve(c, 1, sizeof *b->head);
    b->server = (rllb_i_server *)rllb_carve(c, n, sizeof *b->server);
    b->published = (int32_t *)rllb_carve(c, 2 * b->words, sizeof *b->published);
    b->in_flight = (int32_t *)rllb_carve(c, workers * n, sizeof *b->in_flight);
    b->cells = (rllb_i_cell *)rllb_carve(c, workers * n, sizeof *b->cells);
    b->scalars = (uint64_t *)rllb_carve(c, (workers + 1) * RLLB_I_SCALARS, sizeof *b->scalars);
    b->slots = (uint64_t *)rllb_carve(c, workers * n * slots, sizeof *b->slots);
    b->ends = (uint64_t *)rllb_carve(c, more ? workers * n * slots : 0, sizeof *b->ends);
    b->arrivals = (uint64_t *)rllb_carve(c, more ? workers * slots : 0, sizeof *b->arrivals);
    b->table = (uint16_t *)rllb_carve(c, rllb_i_is_maglev(d->policy) ? 2 * (size_t)d->table : 0, sizeof *b->table);
}

/* Carves what is a handle's own. */
static rllb_balancer *rllb_i_handle_layout(rllb_balancer *b, rllb_carver *c)
{
    rllb_balancer *self = (rllb_balancer *)rllb_carve(c, 1, sizeof *self);
    size_t n = (size_t)b->stride, samples = (size_t)b->padded_slots, i;
    bool maglev = rllb_i_is_maglev(b->desc.policy), c3 = b->desc.policy == RLLB_BALANCE_C3;

    for (i = 0; i < 2; i++) {
        b->copy[i] = (int32_t *)rllb_carve(c, b->words, sizeof(int32_t));
        b->mind[i].credit = (double *)rllb_carve(c, n, sizeof(double));
    }
    b->draft = (int32_t *)rllb_carve(c, b->words, sizeof(int32_t));
    b->heard = (float *)rllb_carve(c, b->desc.policy == RLLB_BALANCE_PREQUAL ? RLLB_I_HEARD : 0, sizeof(float));
    b->time_scale = (float *)rllb_carve(c, n, sizeof(float));
    b->stamp_s = (double *)rllb_carve(c, n, sizeof(double));
    b->service = (float *)rllb_carve(c, c3 ? n : 0, sizeof(float));
    b->queue = (float *)rllb_carve(c, c3 ? n : 0, sizeof(float));
    b->costs = (float *)rllb_carve(c, n, sizeof(float));
    b->nobody = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
    b->generation = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
    b->value = (float *)rllb_carve(c, samples, sizeof(float));
    b->age = (float *)rllb_carve(c, samples, sizeof(float));
    b->product = (float *)rllb_carve(c, samples, sizeof(float));
    b->observation = (float *)rllb_carve(c, b->desc.slots ? (size_t)b->observations : 0, sizeof(float));
    b->action = (float *)rllb_carve(c, n + 3, sizeof(float));
    b->share = (double *)rllb_carve(c, n, sizeof(double));
    b->keep = (float *)rllb_carve(c, n, sizeof(float));
    b->instead = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
    b->offset = (uint32_t *)rllb_carve(c, maglev ? n : 0, sizeof(uint32_t));
    b->skip = (uint32_t *)rllb_carve(c, maglev ? n : 0, sizeof(uint32_t));
    return self;
}

/* A handle of several, or one that joins, needs a block to share. */
static bool rllb_i_sharing_ok(const rllb_balancer_desc *d)
{
    return d->shared ? (uintptr_t)d->shared % RLLB_I_ALIGN == 0 : d->workers == 1 && !d->join;
}

void rllb_balancer_desc_default(rllb_balancer_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_balancer_size(const rllb_balancer_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_balancer plan;

    memset(&plan, 0, sizeof plan);
    if (rllb_i_balancer_resolve(desc, &plan.desc) != RLLB_OK || !rllb_i_sharing_ok(&plan.desc)) return 0;
    rllb_i_balancer_measure(&plan);
    rllb_i_handle_layout(&plan, &c);
    if (!plan.desc.shared) rllb_i_block_layout(&plan, &c);
    return rllb_carver_size(&c);
}

size_t rllb_balancer_shared_size(const rllb_balancer_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_balancer plan;

    memset(&plan, 0, sizeof plan);
    if (rllb_i_balancer_resolve(desc, &plan.desc) != RLLB_OK) return 0;
    rllb_i_balancer_measure(&plan);
    rllb_i_block_layout(&plan, &c);
    return rllb_carver_size(&c);
}

static void rllb_i_copy_name(char out[RLLB_BALANCER_NAME_MAX], const char *name, int32_t index)
{
    char digits[RLLB_BALANCER_NAME_MAX];
    int32_t i = RLLB_BALANCER_NAME_MAX - 1;

    memset(out, 0, RLLB_BALANCER_NAME_MAX);
    digits[i] = 0;
    if (!name) {
        do digits[--i] = (char)('0' + index % 10);
        while (index /= 10);
        name = digits + i;
    }
    for (i = 0; i < RLLB_BALANCER_NAME_MAX - 1 && name[i]; i++) out[i] = name[i];
}

/* A worker forgets how the server was that had this index before. Nothing is in flight there, so nothing but these
   words may be written by two at once, and whichever comes last will do. */
static void rllb_i_cell_start(rllb_balancer *b, int32_t worker, int32_t index)
{
    size_t at = (size_t)worker * (size_t)b->stride + (size_t)index, slots = (size_t)b->lane_slots, i;
    rllb_i_cell *cell = &b->cells[at];

    RLLB_I_STORE(&cell->average, 0);
    RLLB_I_STORE(&cell->streak, 0);
    RLLB_I_STORE(&cell->utilisation, rllb_i_bits_of((float)NAN));
    for (i = at * slots; i < (at + 1) * slots; i++) {
        RLLB_I_STORE(&b->slots[i], 0);
        if (b->desc.features == RLLB_FEATURES_NEURIPS) RLLB_I_STORE(&b->ends[i], 0);
    }
}

/* A server starts its life at an index. What its cells counted before stays: sums over all that lived there. */
static void rllb_i_server_start(rllb_balancer *b, int32_t index, const rllb_server_desc *desc, double since_s)
{
    rllb_i_server *s = &b->server[index];
    rllb_i_ends ends;
    int32_t w, generation = s->generation + 1;
    rllb_rng rng;

    for (w = 0; w < b->workers; w++) rllb_i_cell_start(b, w, index);
    memset(s, 0, sizeof *s);
    rllb_i_copy_name(s->name, desc ? desc->name : NULL, index);
    rllb_rng_init(&rng, b->desc.seed, ~(rllb_i_mix(b->desc.stream) + (uint64_t)index));
    s->apart = b->desc.spread * (float)rllb_rng_normal(&rng);
    s->weight = desc ? desc->weight : 1;
    s->generation = generation;
    s->dry_from = b->head->picked;
    s->since_s = since_s;
    s->calm_since_s = -HUGE_VAL;
    s->kalman = 0.5f;
    s->kalman_variance = 100;
    rllb_i_ends_of(b, index, &ends);
    s->seen_picks = ends.picks;
    s->seen_done = ends.done;
    s->seen_failed = ends.failed;
    s->seen_samples = s->samples_at_start = s->heard = s->told = s->stepped = ends.samples;
    s->told_sum = ends.duration_sum;
    s->field = s->smoothed = -1;
    s->state = RLLB_SERVER_UP;
    if (b->head->used <= index) b->head->used = index + 1;
}

static void rllb_i_publish(rllb_balancer *b, double now_s);

/* What must agree before a handle may join a block. */
static void rllb_i_head_fill(const rllb_balancer *b, rllb_i_head *h)
{
    rllb_carver c = { NULL, 0 };
    rllb_balancer plan = *b;

    memset(h, 0, sizeof *h);
    rllb_i_block_layout(&plan, &c);
    h->magic = RLLB_I_MAGIC;
    h->layout = RLLB_I_LAYOUT;
    h->bytes = rllb_carver_size(&c);
    h->table_bytes = rllb_i_is_maglev(b->desc.policy) ? (uint64_t)b->desc.table : 0;
    h->capacity = b->desc.capacity;
    h->workers = b->workers;
    h->slots = b->desc.slots;
    h->features = (int32_t)b->desc.features;
    h->policy = (int32_t)b->desc.policy;
}

static void rllb_i_block_start(rllb_balancer *b)
{
    rllb_i_head *h = b->head;
    int32_t i;

    rllb_i_head_fill(b, h);
    rllb_i_copy_name(h->name, b->desc.name, 0);
    h->shadow = b->desc.shadow;
    h->blend = b->desc.blend > 0 ? b->desc.blend : 1;
    h->d = (float)b->desc.d;
    h->a = b->desc.a;
    h->gamma = b->desc.gamma;
    h->reward = (double)NAN;
    h->table_stale = true;
    for (i = 0; i < b->desc.count; i++) {
        rllb_i_server_start(b, i, b->desc.servers ? &b->desc.servers[i] : NULL, -HUGE_VAL);
    }
    rllb_i_publish(b, 0);
}

/* What a worker left in flight is given up. Its in-flight counts may lag its other counters by the one step at which it
   died, so the loss is what is missing between these. */
static void rllb_i_give_up(rllb_balancer *b, int32_t worker)
{
    int32_t j;

    for (j = 0; j < b->stride; j++) {
        size_t at = (size_t)worker * (size_t)b->stride + (size_t)j;
        rllb_i_cell *cell = &b->cells[at];
        uint64_t lost = RLLB_I_LOAD(&cell->picks) - RLLB_I_LOAD(&cell->done) - RLLB_I_LOAD(&cell->lost);
        RLLB_I_STORE(&b->in_flight[at], 0);
        rllb_i_add_to(&cell->lost, lost);
    }
    RLLB_I_STORE(&b->scalars[(size_t)worker * RLLB_I_SCALARS + RLLB_I_FLOWS], 0);
}

/* The pointers and numbers of a handle that do not come from the layout. */
static void rllb_i_handle_start(rllb_balancer *b)
{
    int32_t i, lane = b->desc.worker < 0 ? b->workers : b->desc.worker;
    uint64_t stream = rllb_i_mix(b->desc.stream) + (uint64_t)(int64_t)lane, generation;

    b->keeper_only = b->desc.worker < 0;
    b->ties = b->desc.ties;
    b->counts_flows = b->desc.policy == RLLB_BALANCE_MAGLEV_BOUNDED;
    b->lane = lane;
    b->count = b->scalars + (size_t)lane * RLLB_I_SCALARS;
    if (!b->keeper_only) {
        b->own = b->in_flight + (size_t)lane * (size_t)b->stride;
        b->mine = b->cells + (size_t)lane * (size_t)b->stride;
    }
    generation = RLLB_I_LOAD(&b->count[RLLB_I_SAMPLES]);
    for (i = 0; i < 2; i++) {
        rllb_rng_init(&b->mind[i].rng, b->desc.seed ^ rllb_i_mix(generation), 2 * stream + (uint64_t)i);
        b->mind[i].turn = (uint32_t)lane;
    }
    b->keep_below = b->desc.keep >= 1 ? 0xffffffffu : (uint32_t)((double)b->desc.keep * 4294967296.0);
    b->newest = b->desc.policy == RLLB_BALANCE_LEAST_TIME ? 0.05f : b->desc.policy == RLLB_BALANCE_C3 ? 0.9f : 0.1f;
    b->adopted = RLLB_I_LOAD(&b->head->sequence) - 1; /* never what is in force */
    b->now_s = -RLLB_I_TIME_MAX;
    b->arrived_s = (double)NAN;
    for (i = 0; i < b->stride; i++) b->stamp_s[i] = -HUGE_VAL;
    b->failed = true;
    rllb_i_copy_name(b->name, b->head->name, 0);
    b->desc.name = b->name;
    b->desc.servers = NULL;
}

/* Servers as a keeper may have left them that died while it changed them. */
static void rllb_i_mend(rllb_balancer *b)
{
    rllb_i_head *h = b->head;
    int32_t j;

    if (h->used < 0 || h->used > b->desc.capacity) h->used = b->desc.capacity;
    for (j = 0; j < b->stride; j++) {
        rllb_i_server *s = &b->server[j];
        s->name[RLLB_BALANCER_NAME_MAX - 1] = 0;
        if (s->state < 0 || s->state >= RLLB_SERVER_STATE_NUM) s->state = RLLB_SERVER_DOWN;
        if (!rllb_i_weight_ok(s->weight)) s->weight = 1;
        if (!rllb_i_weight_ok(s->found) || !rllb_i_weight_ok(s->found_at_tick)) s->found = s->found_at_tick = 0;
        if (!rllb_i_weight_ok(s->sound)) s->sound = 0;
        if (s->state != RLLB_SERVER_NONE && h->used <= j) h->used = j + 1;
    }
}

rllb_status rllb_balancer_init(const rllb_balancer_desc *desc, void *mem, size_t size, rllb_balancer **out)
{
    rllb_carver c = { NULL, 0 }, block = { NULL, 0 };
    rllb_balancer plan, *b;
    rllb_i_head expected;
    rllb_status status;

    memset(&plan, 0, sizeof plan);
    if (!out) return RLLB_ERROR_ARGUMENT;
    status = rllb_i_balancer_resolve(desc, &plan.desc);
    if (status != RLLB_OK) return status;
    if (!rllb_i_sharing_ok(&plan.desc)) return RLLB_ERROR_ARGUMENT;
    rllb_i_balancer_measure(&plan);
    if (desc->shared && desc->shared_size < rllb_balancer_shared_size(desc)) return RLLB_ERROR_MEMORY_SIZE;
    status = rllb_carver_open(&c, mem, size, rllb_balancer_size(desc));
    if (status != RLLB_OK) return status;
    if (desc->join) {
        block.base = (unsigned char *)desc->shared;
        rllb_i_head_fill(&plan, &expected);
        if (memcmp(desc->shared, &expected, offsetof(rllb_i_head, sequence)) != 0) return RLLB_ERROR_VERSION;
    } else if (desc->shared) {
        status = rllb_carver_open(&block, desc->shared, desc->shared_size, rllb_balancer_shared_size(desc));
        if (status != RLLB_OK) return status;
    }
    b = rllb_i_handle_layout(&plan, &c);
    rllb_i_block_layout(&plan, desc->shared ? &block : &c);
    *b = plan;
    b->k = rllb_i_kernels_best();
    if (!desc->join) rllb_i_block_start(b);
    else if (desc->worker >= 0) rllb_i_give_up(b, desc->worker);
    else rllb_i_mend(b);
    rllb_i_handle_start(b);
    *out = b;
    return RLLB_OK;
}

rllb_balancer *rllb_balancer_create(const rllb_balancer_desc *desc)
{
    size_t size = rllb_balancer_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_balancer *b = NULL;

    if (block && rllb_balancer_init(desc, block, size, &b) == RLLB_OK) {
        b->block = block;
        return b;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_balancer_destroy(rllb_balancer *b)
{
    if (b) rllb_block_free(b->block);
}

void rllb_balancer_query(const rllb_balancer *b, rllb_balancer_desc *resolved)
{
    if (!b || !resolved) return;
    *resolved = b->desc;
    resolved->count = b->head->used;
    resolved->shadow = b->head->shadow;
    resolved->blend = b->head->blend;
}

/* ---- >>weights ---------------------------------------------------------------------------------------------
   From servers and weights to what picks need: the keeper drafts it and publishes it, and each handle copies it when it
   sees a new sequence. A handle whose area was written again meanwhile keeps its old copy until the next pick. */

enum { RLLB_I_HEAD_WORDS = sizeof(rllb_i_published) / sizeof(int32_t) };

/* The set `which` inside a draft or copy: scale, weight, live, alias. */
static float *rllb_i_set(const rllb_balancer *b, int32_t *words, int32_t which)
{
    return (float *)(void *)(words + RLLB_I_HEAD_WORDS + (size_t)which * b->set_words);
}

/* Share of its weight that a server has now. */
static float rllb_i_ramp(const rllb_balancer *b, const rllb_i_server *s, double now_s)
{
    double share;

    if (b->desc.guard.slow_start_s < 0) return 1;
    share = (now_s - s->since_s) / (double)b->desc.guard.slow_start_s;
    return share >= 1 ? 1 : share > 0.1 ? (float)share : 0.1f; /* NaN: just begun */
}

static float rllb_i_power_of(float base, float exponent)
{
    float power = exponent == 0 ? 1 : exponent == 1 ? base : powf(base, exponent);
    return power < 1e-15f ? 1e-15f : power > 1e15f ? 1e15f : power; /* sums and inverses stay numbers */
}

/* Interleaves an alias table, and closes what rounding may have left open: a column of weight 0 must never stay. */
static void rllb_i_build_alias(rllb_balancer *b, const float *weight, int32_t n, rllb_i_alias *alias)
{
    double total = 0;
    int32_t j, heaviest = 0;

    for (j = 0; j < n; j++) {
        total += (double)weight[j];
        if (weight[j] > weight[heaviest]) heaviest = j;
    }
    if (!(total > 0)) return;
    rllb_i_alias_build(weight, total, n, b->keep, b->instead, b->share);
    for (j = 0; j < n; j++) {
        bool open = weight[j] <= 0 && b->keep[j] > 0;
        alias[j].keep = open ? 0 : (int32_t)(b->keep[j] * 16777216.0f);
        alias[j].instead = open ? heaviest : b->instead[j];
    }
}

/* The weight found, or as configured as long as none is; both over the mean of the usable servers. */
static float rllb_i_found(const rllb_balancer *b, const rllb_i_server *s)
{
    return s->found > 0 ? s->found : (float)((double)s->weight / b->mean_weight);
}

/* 0 to 1: as far as this balancer is one of many, which hold hardly a request at a server at a time. */
static double rllb_i_many(const rllb_balancer *b)
{
    double held = 0;
    int32_t j, n = b->head->used, servers = 0;

    for (j = 0; j < n; j++) {
        if (b->server[j].state == RLLB_SERVER_NONE) continue;
        held += (double)b->server[j].flows;
        servers++;
    }
    held /= servers ? servers : 1;
    return 1 / (1 + 4 * held * held);
}

/* Are weights that hardly differ to be the same? */
static bool rllb_i_is_even(const rllb_balancer *b)
{
    return b->desc.features == RLLB_FEATURES_RELATIVE && !(b->desc.spread > 0);
}

/* A weight for (q + 1) / w, where a hair's breadth decides who of the idle is taken, and always the same way: a found
   weight within 12 % of the configured one is that one, and up to 24 % it is nearer. */
static float rllb_i_weight_to_compare(double w, double configured, double many)
{
    double same = RLLB_I_SAME * (1 - many), x = log(w / configured), distance = fabs(x);

    if (distance >= 2 * same) return (float)w;
    distance = distance > same ? 2 * (distance - same) : 0;
    return (float)(configured * exp(x < 0 ? -distance : distance));
}

/* How servers differ for `policy`, with the weights found or those configured. */
static void rllb_i_build_set(rllb_balancer *b, int32_t *words, int32_t which, rllb_balance policy, bool found,
                             double now_s)
{
    const rllb_i_head *h = b->head;
    rllb_balance how = rllb_i_dispatch(&b->desc, policy);
    bool counts = how == RLLB_BALANCE_LSQ || how == RLLB_BALANCE_P2C || how == RLLB_BALANCE_JIQ ||
                  how == RLLB_BALANCE_GSQ || how == RLLB_BALANCE_SRT, steady = rllb_i_is_maglev(how);
    bool even = found && b->desc.policy == RLLB_BALANCE_LEARNED && rllb_i_is_even(b);
    double found_mean = 0, many = even ? rllb_i_many(b) : 1;
    int32_t j, live = 0, n = h->used, padded = (n + 15) & ~15;
    float *scale = rllb_i_set(b, words, which), *weight = scale + b->stride;
    int32_t *index = (int32_t *)(void *)(weight + b->stride);

    for (j = 0; j < n; j++) {
        if (!b->server[j].usable) continue;
        found_mean += (double)rllb_i_found(b, &b->server[j]);
        live++;
    }
    if (live) found_mean /= live;
    for (live = 0, j = 0; j < padded; j++) {
        rllb_i_server *s = &b->server[j];
        float ramp, w, compared;
        scale[j] = INFINITY;
        weight[j] = 0;
        if (which == 0) s->in_force = 0;
        if (j >= n || !s->usable) continue;
        index[live++] = j;
        ramp = steady ? 1 : rllb_i_ramp(b, s, now_s);
        compared = w = (float)((double)s->weight / b->mean_weight);
        if (found) w = h->blend * (float)((double)rllb_i_found(b, s) / found_mean) + (1 - h->blend) * w;
        if (w < 1e-9f) w = 1e-9f; /* costs stay finite */
        compared = even ? rllb_i_weight_to_compare((double)w, (double)compared, many) : w;
        weight[j] = how == RLLB_BALANCE_DRAW ? rllb_i_power_of(w, h->a < 0 ? 0 : h->a) * ramp : w * ramp;
        if (how == RLLB_BALANCE_DRAW) compared = rllb_i_power_of(compared, h->gamma);
        scale[j] = 1 / ((counts ? 1 : compared) * ramp);
        if (which == 0) s->in_force = w * ramp;
    }
    rllb_i_build_alias(b, weight, n, (rllb_i_alias *)(void *)(index + b->stride));
}

static uint64_t rllb_i_hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, mixed */
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return rllb_i_mix(h);
}

/* Maglev's table (Eisenbud et al. 2016, 3.4): servers take turns, in proportion to their weight, at the next entry of
   their own permutation that is still free. The permutation depends on the name alone, so that a server that leaves
   moves next to nothing but its own keys. */
static void rllb_i_build_maglev(rllb_balancer *b, const float *weight)
{
    int32_t j, n = b->head->used, turn = b->head->table_turn ^ 1, heaviest = -1;
    uint32_t size = (uint32_t)b->desc.table, filled;
    uint16_t *table = b->table + (size_t)turn * size;
    const uint16_t free_entry = 0xffff;

    for (j = 0; j < n; j++) {
        uint64_t hash = rllb_i_hash_name(b->server[j].name);
        b->offset[j] = (uint32_t)((hash >> 32) % size);
        b->skip[j] = (uint32_t)((hash & 0xffffffffu) % (size - 1)) + 1;
        b->share[j] = 0;
        if (weight[j] > 0 && (heaviest < 0 || weight[j] > weight[heaviest])) heaviest = j;
    }
    for (filled = 0; filled < size; filled++) RLLB_I_STORE(&table[filled], free_entry);
    for (filled = 0; heaviest >= 0 && filled < size;) {
        for (j = 0; j < n && filled < size; j++) {
            if (!(weight[j] > 0)) continue;
            b->share[j] += (double)weight[j] / (double)weight[heaviest];
            if (b->share[j] < 1) continue;
            b->share[j] -= 1;
            while (RLLB_I_LOAD(&table[b->offset[j]]) != free_entry) {
                b->offset[j] += b->skip[j];
                if (b->offset[j] >= size) b->offset[j] -= size;
            }
            RLLB_I_STORE(&table[b->offset[j]], (uint16_t)j);
            filled++;
        }
    }
    b->head->table_turn = turn;
}

/* Who may be picked: what is up; what is ejected too, once too little is up. */
static void rllb_i_judge(rllb_balancer *b, int32_t *ejected, int32_t *counted)
{
    rllb_i_head *h = b->head;
    int32_t j, up = 0, out = 0, all = 0, live = 0;
    double total = 0;
    bool panic;

    for (j = 0; j < h->used; j++) {
        int32_t state = b->server[j].state;
        up += state == RLLB_SERVER_UP;
        out += state == RLLB_SERVER_EJECTED;
        all += state == RLLB_SERVER_UP || state == RLLB_SERVER_EJECTED || state == RLLB_SERVER_DOWN;
    }
    panic = (double)up < (double)b->desc.guard.panic * (double)all; /* never if that rail is off */
    panic = out > 0 && (up == 0 || panic);
    if (panic && !h->panic) RLLB_I_TALLY(b, panics);
    h->panic = panic;
    for (j = 0; j < h->used; j++) {
        rllb_i_server *s = &b->server[j];
        bool usable = s->state == RLLB_SERVER_UP || (panic && s->state == RLLB_SERVER_EJECTED);
        if (usable != s->usable) h->table_stale = true;
        s->usable = usable;
        if (usable) total += (double)s->weight;
        live += usable;
    }
    b->mean_weight = total > 0 ? total / live : 1;
    *ejected = out;
    *counted = all;
}

/* How many servers may be out at once. */
static int32_t rllb_i_most_ejected(const rllb_balancer *b, int32_t counted)
{
    float share = b->desc.guard.eject_share < 0 ? 1 : b->desc.guard.eject_share;
    int32_t most = (int32_t)((double)share * (double)counted);

    return most < 1 && counted > 1 ? 1 : most;
}

/* Policies that pass no server over, whatever they see. */
static bool rllb_i_is_blind(rllb_balance how)
{
    return how == RLLB_BALANCE_ROUND_ROBIN || how == RLLB_BALANCE_WEIGHTED_ROUND_ROBIN || how == RLLB_BALANCE_ECMP ||
           how == RLLB_BALANCE_WCMP || rllb_i_is_maglev(how);
}

static bool rllb_i_is_due_back(const rllb_i_head *h, const rllb_i_server *s)
{
    return s->state == RLLB_SERVER_EJECTED && h->tick_s >= s->until_s;
}

/* Servers to send one request, whatever the policy says: ejected ones whose time is over, and those that a policy which
   goes by what it sees could pass over for ever. */
static void rllb_i_list_starving(rllb_balancer *b)
{
    rllb_balance how = rllb_i_dispatch(&b->desc, b->desc.policy);
    rllb_i_head *h = b->head;
    double total = 0, least = b->desc.guard.minimum_share > 0.1f ? 1 / (double)b->desc.guard.minimum_share : 10;
    int32_t j, ejected, counted;

    rllb_i_judge(b, &ejected, &counted); /* the tick may have ejected some */
    h->starved = 0;
    h->thirst = HUGE_VAL;
    for (j = 0; j < h->used && h->starved < RLLB_I_STARVED; j++) {
        const rllb_i_server *s = &b->server[j];
        if (rllb_i_is_due_back(h, s) && !s->usable && rllb_i_flows(b, j) == 0) h->starving[h->starved++] = j;
    }
    if (rllb_i_is_blind(how) || rllb_i_is_oracle(how) || b->desc.guard.minimum_share < 0) return;
    for (j = 0; j < h->used; j++) total += b->server[j].usable ? (double)b->server[j].weight : 0;
    for (j = 0; j < h->used && h->starved < RLLB_I_STARVED; j++) {
        const rllb_i_server *s = &b->server[j];
        double due = (h->picked - s->dry_from) * (double)s->weight / total; /* picks of a fair share */
        double thirst = s->dry_from + 0.999999 * least * total / (double)s->weight;
        bool long_ago = h->tick_s - s->picked_s >= 1 && due >= 10;
        if (!s->usable) continue;
        if (thirst < h->thirst) h->thirst = thirst;
        if (long_ago || due * (double)b->desc.guard.minimum_share >= 1) h->starving[h->starved++] = j;
    }
}

static void rllb_i_send_words(int32_t *to, const int32_t *from, size_t words)
{
    size_t i;
    for (i = 0; i < words; i++) RLLB_I_STORE(&to[i], from[i]);
}

static void rllb_i_fetch_words(int32_t *to, const int32_t *from, size_t words)
{
    size_t i;
    for (i = 0; i < words; i++) to[i] = RLLB_I_LOAD(&from[i]);
}

/* Both ways: the parts of both sets that `used` servers need. */
static void rllb_i_copy_sets(const rllb_balancer *b, int32_t *to, const int32_t *from, int32_t used, bool shadow,
                             void (*copy)(int32_t *, const int32_t *, size_t))
{
    size_t padded = (size_t)((used + 15) & ~15), stride = (size_t)b->stride, which, part, base;

    for (which = 0; which < (shadow ? 2u : 1u); which++) {
        base = RLLB_I_HEAD_WORDS + which * b->set_words;
        for (part = 0; part < 3; part++) copy(to + base + part * stride, from + base + part * stride, padded);
        copy(to + base + 3 * stride, from + base + 3 * stride, 2 * padded);
    }
    base = RLLB_I_HEAD_WORDS + 2 * b->set_words;
    copy(to + base, from + base, padded);
}

static void rllb_i_publish(rllb_balancer *b, double now_s)
{
    rllb_i_head *h = b->head;
    rllb_i_published *p = (rllb_i_published *)(void *)b->draft;
    bool finds = rllb_i_finds(b->desc.policy), acts = !h->shadow && !h->stale;
    int32_t j, ejected, counted, usable = 0;
    float sum = 0, *weight;
    uint32_t sequence;
    int32_t *area;

    memset(p, 0, sizeof *p);
    h->quiet = false;
    rllb_i_judge(b, &ejected, &counted);
    for (j = 0; j < h->used; j++) usable += b->server[j].usable;
    p->policy = (int32_t)(acts ? b->desc.policy : b->desc.fallback);
    p->used = h->used;
    p->live = usable;
    p->d = (int32_t)h->d;
    p->suspensions = h->panic ? 0 : rllb_i_most_ejected(b, counted) - ejected;
    if (p->suspensions >= p->live) p->suspensions = p->live - 1;
    p->shadow = h->shadow;
    rllb_i_build_set(b, b->draft, 0, (rllb_balance)p->policy, finds && acts, now_s);
    if (h->shadow) rllb_i_build_set(b, b->draft, 1, b->desc.policy, finds, now_s);
    for (j = 0; j < h->used; j++) {
        b->draft[RLLB_I_HEAD_WORDS + 2 * b->set_words + (size_t)j] = b->server[j].generation;
    }
    weight = rllb_i_set(b, b->draft, 0) + b->stride;
    for (j = 0; j < h->used; j++) sum += weight[j];
    p->weight_sum = rllb_i_bits_of(sum);
    p->tick = h->tick;
    for (j = 0; j < h->starved; j++) { /* none that went since */
        const rllb_i_server *s = &b->server[h->starving[j]];
        if (s->usable || rllb_i_is_due_back(h, s)) p->starving[p->starved++] = h->starving[j];
    }
    if (rllb_i_is_maglev(b->desc.policy) && h->table_stale) rllb_i_build_maglev(b, weight);
    h->table_stale = false;
    p->table_turn = h->table_turn;

    sequence = RLLB_I_LOAD(&h->sequence) + 1;
    area = b->published + (sequence % 2) * b->words;
    (void)RLLB_I_EXCHANGE(&h->begun, sequence); /* said before the first word is written */
    rllb_i_send_words(area, b->draft, RLLB_I_HEAD_WORDS);
    rllb_i_copy_sets(b, area, b->draft, h->used, h->shadow, rllb_i_send_words);
    RLLB_I_STORE_RELEASE(&h->sequence, sequence);
}

/* Points a mind at its set in the newest copy. */
static void rllb_i_open_mind(rllb_balancer *b, int32_t *words, int32_t which, rllb_balance policy)
{
    rllb_i_mind *m = &b->mind[which];

    m->how = rllb_i_dispatch(&b->desc, policy);
    m->scale = rllb_i_set(b, words, which);
    m->weight = m->scale + b->stride;
    m->live = (const int32_t *)(const void *)(m->weight + b->stride);
    m->alias = (const rllb_i_alias *)(const void *)(m->live + b->stride);
    for (m->place = 0; m->place < b->live && (uint32_t)m->live[m->place] < m->turn; m->place++) {}
    if (m->place >= b->live) m->place = 0;
}

/* LEAST_TIME and its kin: a server not yet measured counts as the mean of those that are. */
static void rllb_i_open_times(rllb_balancer *b)
{
    int32_t j, measured = 0;
    float sum = 0;

    for (j = 0; j < b->used; j++) {
        float average = rllb_i_float_of(RLLB_I_LOAD(&b->mine[j].average));
        if (!(average > 0) || !(b->mind[0].weight[j] > 0)) continue;
        sum += average;
        measured++;
    }
    b->mean_average = measured ? sum / (float)measured : 1;
    for (j = 0; j < ((b->used + 15) & ~15); j++) {
        float average = j < b->used ? rllb_i_float_of(RLLB_I_LOAD(&b->mine[j].average)) : 0;
        b->time_scale[j] = b->mind[0].scale[j] * (average > 0 ? average : b->mean_average);
    }
}

/* Another server has this index. */
static void rllb_i_forget(rllb_balancer *b, int32_t server)
{
    int32_t i, kept = 0;

    b->mind[0].credit[server] = b->mind[1].credit[server] = 0;
    b->stamp_s[server] = -HUGE_VAL;
    if (b->desc.policy == RLLB_BALANCE_C3) b->service[server] = b->queue[server] = 0;
    for (i = 0; i < b->replies; i++) {
        if (b->reply[i].server != server) b->reply[kept++] = b->reply[i];
    }
    b->replies = kept;
}

/* Whom this handle is to send a request: of a new list its part, one worker each and another one next time; of one seen
   before what is left of it and still listed. */
static void rllb_i_owe(rllb_balancer *b, const rllb_i_published *p)
{
    int32_t i, j, old = b->owed, mine[RLLB_I_STARVED];

    for (i = 0; i < old; i++) mine[i] = b->owing[i];
    for (b->owed = 0, i = 0; i < p->starved; i++) {
        bool owes = p->tick != b->tick && (p->tick + i) % b->workers == b->lane;
        for (j = 0; p->tick == b->tick && j < old; j++) owes = owes || mine[j] == p->starving[i];
        if (owes) b->owing[b->owed++] = p->starving[i];
    }
    b->tick = p->tick;
}

/* Takes over what is newly in force, if it can be had whole. */
static void rllb_i_adopt(rllb_balancer *b)
{
    uint32_t sequence = RLLB_I_LOAD_ACQUIRE(&b->head->sequence);
    const int32_t *area = b->published + (sequence % 2) * b->words;
    int32_t *words = b->copy[0], i;
    const rllb_i_published *p = (const rllb_i_published *)(const void *)words;

    rllb_i_fetch_words(words, area, RLLB_I_HEAD_WORDS);
    if (p->used < 0 || p->used > b->desc.capacity) return;
    rllb_i_copy_sets(b, words, area, p->used, p->shadow != 0, rllb_i_fetch_words);
    if (RLLB_I_FETCH_ADD(&b->head->begun, 0) - sequence > 1) return; /* orders the copy before this look */
    for (i = 0; i < p->used; i++) {
        size_t at = RLLB_I_HEAD_WORDS + 2 * b->set_words + (size_t)i;
        if (words[at] != b->generation[i]) rllb_i_forget(b, i);
        b->generation[i] = words[at];
    }
    b->copy[0] = b->copy[1];
    b->copy[1] = words;
    b->now = p;
    b->adopted = sequence;
    b->used = p->used;
    b->live = p->live;
    b->d = p->d;
    b->suspensions = p->suspensions;
    b->table_turn = p->table_turn;
    b->weight_sum = rllb_i_float_of(p->weight_sum);
    rllb_i_owe(b, p);
    rllb_i_open_mind(b, words, 0, (rllb_balance)p->policy);
    if (p->shadow) rllb_i_open_mind(b, words, 1, b->desc.policy);
    rllb_i_open_times(b);
    b->scanned_by = NULL;
    b->extras = (b->owed ? RLLB_I_OWED : 0) | (p->shadow ? RLLB_I_SHADOW : 0) |
                (b->desc.features == RLLB_FEATURES_NEURIPS && b->desc.slots ? RLLB_I_ARRIVALS : 0);
}

/* ---- >>picks -----------------------------------------------------------------------------------------------
   The hot path: one server per request, from the handle's copy and the counters. Writes nothing but this worker's own
   counters and the handle. */

static int32_t rllb_i_ones(uint64_t word)
{
    word -= (word >> 1) & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
    return (int32_t)((((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u) >> 56);
}

/* The first of the tied at or after a start that moves on; -1 if all are before it. */
static int32_t rllb_i_rotate(const rllb_balancer *b, rllb_i_mind *m, const uint64_t *words)
{
    int32_t start = (int32_t)(m->turn++ % (uint32_t)b->used), i = start / 64;
    uint64_t word = words[i] & (~(uint64_t)0 << (start % 64));

    while (!word && ++i < (b->used + 63) / 64) word = words[i];
    return word ? 64 * i + rllb_i_lowest(word) : -1;
}

/* One of the tied. The random number is drawn whether or not it is needed: that costs less than a branch upon it. The
   bias of the product is below 2^-20. */
static int32_t rllb_i_break_tie(const rllb_balancer *b, rllb_i_mind *m, const uint64_t *words, int32_t tied)
{
    int32_t rank = 0, i, ones;
    uint64_t word;

    if (b->ties == RLLB_TIES_RANDOM) rank = (int32_t)(((rllb_rng_u64(&m->rng) >> 32) * (uint32_t)tied) >> 32);
    if (tied < 1) return -1;
    if (b->ties == RLLB_TIES_ROTATE) {
        i = rllb_i_rotate(b, m, words);
        if (i >= 0) return i;
    }
    if (b->used <= 64) return b->k->bit(words[0], rank);
    for (i = 0; (word = words[i]) == 0 || (rank && (ones = rllb_i_ones(word)) <= rank); i++) {
        if (word) rank -= ones;
    }
    return 64 * i + b->k->bit(word, rank);
}

/* What is known of a block, with the cost of one of its servers as it is now. False: that takes a look at all. `most`
   may stay too great, which costs time only. */
static bool rllb_i_follow(rllb_i_blocks *known, int32_t server, int32_t cost)
{
    int32_t i = server / 64, least = known->least[i], limit = least + 9 < 0x7f800000 ? least + 9 : 0x7f800000;
    uint64_t bit = (uint64_t)1 << (server % 64);

    if (known->tied[i] & bit) {
        if (cost == least) return true;
        if (cost < limit || known->most[i] != least || known->tied[i] == bit) return false;
        known->tied[i] ^= bit; /* those that stay are the least */
        known->ties[i]--;
    } else if (cost < limit) {
        if (cost < least && cost + 9 > least) return false;
        known->tied[i] = cost < least ? bit : known->tied[i] | bit;
        known->ties[i] = cost < least ? 1 : known->ties[i] + 1;
        known->most[i] = cost < least || cost > known->most[i] ? cost : known->most[i];
        known->least[i] = cost < least ? cost : least;
    }
    return true;
}

/* Brings up to date what is known of blocks of 64 servers, but for those that it answers, as bits: they must be looked
   at. Counters that nobody else writes have changed only where this handle picked or heard of an end. */
static uint64_t rllb_i_changed_blocks(rllb_balancer *b, const float *scale, bool idle_first, int32_t blocks)
{
    uint64_t changed = 0, at = b->scanned;

    b->scanned = b->logged;
    if (scale != b->scanned_by || idle_first != b->scanned_idle || b->logged - at > RLLB_I_LOG) {
        b->scanned_by = scale;
        b->scanned_idle = idle_first;
        return ~(uint64_t)0 >> (64 - blocks);
    }
    for (; at != b->logged; at++) {
        int32_t server = b->log[at % RLLB_I_LOG], count = RLLB_I_LOAD(&b->in_flight[server]) + 1;
        float cost = (float)count * scale[server] * (idle_first && count > 1 ? 1099511627776.0f : 1.0f);
        if (server >= 64 * blocks || changed >> (server / 64) & 1) continue;
        changed |= (uint64_t)!rllb_i_follow(&b->blocks, server, rllb_i_bits_of(cost)) << (server / 64);
    }
    return changed;
}

RLLB_I_APART static int32_t rllb_i_scan_many(rllb_balancer *b, rllb_i_mind *m, const float *scale, bool idle_first)
{
    uint64_t words[RLLB_BALANCER_SERVERS_MAX / 64], changed;
    int32_t padded = (b->used + 15) & ~15, tied;

    if (b->workers == 1 && b->ties != RLLB_TIES_ROTATE) {
        uint32_t random = b->ties == RLLB_TIES_RANDOM ? (uint32_t)(rllb_rng_u64(&m->rng) >> 32) : 0;
        changed = rllb_i_changed_blocks(b, scale, idle_first, (padded + 63) / 64);
        return b->k->pick_blocks(&b->blocks, b->in_flight, scale, padded, idle_first, changed, random);
    }
    tied = (idle_first ? b->k->least_idle : b->k->least)(b->in_flight, (size_t)b->stride, b->workers, scale, padded,
                                                         words);
    return rllb_i_break_tie(b, m, words, tied);
}

/* argmin (q + 1) scale; busy servers only if none is idle, when `idle_first`. One of the tied by chance, as
   rllb_i_break_tie has it, or the first. */
RLLB_I_APART static int32_t rllb_i_scan(rllb_balancer *b, rllb_i_mind *m, const float *scale, bool idle_first)
{
    int32_t padded = (b->used + 15) & ~15;
    uint32_t random;

    if (padded == 0) return -1;
    if (padded > 64 || b->ties == RLLB_TIES_ROTATE) return rllb_i_scan_many(b, m, scale, idle_first);
    random = b->ties == RLLB_TIES_RANDOM ? (uint32_t)(rllb_rng_u64(&m->rng) >> 32) : 0;
    return b->k->pick(b->in_flight, (size_t)b->stride, b->workers, scale, padded, idle_first, random);
}

/* The same over costs that are not products: times an idle server's one. */
RLLB_I_APART static int32_t rllb_i_scan_costs(const rllb_balancer *b, rllb_i_mind *m, float *cost)
{
    uint64_t words[RLLB_BALANCER_SERVERS_MAX / 64];
    int32_t j, padded = (b->used + 15) & ~15;

    if (padded == 0) return -1;
    for (j = 0; j < b->used; j++) cost[j] = cost[j] >= 0 ? cost[j] : INFINITY;
    for (j = b->used; j < padded; j++) cost[j] = INFINITY;
    return rllb_i_break_tie(b, m, words, b->k->least(b->nobody, (size_t)b->stride, 1, cost, padded, words));
}

/* The two below choose by masks: which way it goes is chance, and a branch would be foretold wrongly half the time. */
static inline int32_t rllb_i_draw_column(const rllb_i_mind *m, int32_t used, uint64_t random)
{
    int32_t column = (int32_t)(((random >> 32) * (uint64_t)used) >> 32), instead = m->alias[column].instead;
    int32_t stay = -(int32_t)((int32_t)(random & 0xffffff) < m->alias[column].keep);

    return instead ^ ((column ^ instead) & stay);
}

RLLB_I_APART static int32_t rllb_i_draw(const rllb_balancer *b, rllb_i_mind *m)
{
    rllb_rng rng = m->rng; /* in registers while it draws */
    int32_t i, best = -1, least = INT32_MAX;

    if (b->live < 1) return -1;
    for (i = 0; i < b->d; i++) {
        int32_t s = rllb_i_draw_column(m, b->used, rllb_rng_u64(&rng));
        int32_t cost = rllb_i_bits_of((float)(rllb_i_flows(b, s) + 1) * m->scale[s]); /* in order, being above 0 */
        int32_t less = -(int32_t)(cost < least);
        least ^= (least ^ cost) & less;
        best ^= (best ^ s) & less;
    }
    m->rng = rng;
    return best; /* not usable if all drawn were suspended: the caller looks */
}

static float rllb_i_peak(const rllb_balancer *b, int32_t s)
{
    float average = rllb_i_float_of(RLLB_I_LOAD(&b->mine[s].average));
    double age = b->now_s - b->stamp_s[s];

    return average > 0 ? average * (float)exp(-(age > 0 ? age : 0) / (double)b->desc.ewma_s) : b->mean_average;
}

/* Two distinct ones, the better of them. */
RLLB_I_APART static int32_t rllb_i_two(const rllb_balancer *b, rllb_i_mind *m, bool peak)
{
    int32_t i, j, s, t;
    float one, other;

    if (b->live < 1) return -1;
    if (b->live == 1) return m->live[0];
    i = rllb_rng_below(&m->rng, b->live);
    j = rllb_rng_below(&m->rng, b->live - 1);
    j += j >= i;
    s = m->live[i];
    t = m->live[j];
    one = (float)(rllb_i_flows(b, s) + 1) * m->scale[s] * (peak ? rllb_i_peak(b, s) : 1);
    other = (float)(rllb_i_flows(b, t) + 1) * m->scale[t] * (peak ? rllb_i_peak(b, t) : 1);
    return s ^ ((s ^ t) & -(int32_t)(other < one)); /* the first drawn of equals: random already */
}

static int32_t rllb_i_round(const rllb_balancer *b, rllb_i_mind *m)
{
    int32_t s;

    if (b->live < 1) return -1;
    s = m->live[m->place++];
    if (m->place == b->live) m->place = 0;
    m->turn = (uint32_t)s + 1;
    return s;
}

RLLB_I_APART static int32_t rllb_i_smooth(const rllb_balancer *b, rllb_i_mind *m)
{
    double total = 0;
    int32_t i, best = -1;

    for (i = 0; i < b->live; i++) {
        int32_t s = m->live[i];
        m->credit[s] += (double)m->weight[s];
        total += (double)m->weight[s];
        if (best < 0 || m->credit[s] > m->credit[best] + 1e-9) best = s; /* weights that are thirds add up to ties */
    }
    if (best >= 0) m->credit[best] -= total;
    return best;
}

RLLB_I_APART static int32_t rllb_i_c3(const rllb_balancer *b, rllb_i_mind *m)
{
    int32_t j;

    for (j = 0; j < b->used; j++) {
        float response = rllb_i_float_of(RLLB_I_LOAD(&b->mine[j].average)), service = b->service[j], line;
        if (!(response > 0)) response = b->mean_average;
        if (!(service > 0)) service = response;
        line = 1 + (float)rllb_i_flows(b, j) * b->desc.clients + b->queue[j];
        if (line > 1e9f) line = 1e9f; /* its cube must stay a number */
        b->costs[j] = m->scale[j] < INFINITY ? response - service + line * line * line * service : INFINITY;
    }
    return rllb_i_scan_costs(b, m, b->costs);
}

RLLB_I_APART static int32_t rllb_i_oracle(const rllb_balancer *b, rllb_i_mind *m)
{
    bool sed = m->how == RLLB_BALANCE_SED_ORACLE;
    int32_t j;

    for (j = 0; j < b->used; j++) {
        float seen = b->desc.oracle[j];
        b->costs[j] = m->scale[j] < INFINITY ? (sed ? (seen + 1) * m->scale[j] : seen) : INFINITY;
    }
    return rllb_i_scan_costs(b, m, b->costs);
}

RLLB_I_APART static int32_t rllb_i_choose(rllb_balancer *b, rllb_i_mind *m)
{
    int32_t j, s;

    if (b->live < 1) return -1;
    for (j = 0; j < b->used; j++) b->costs[j] = (float)(rllb_i_flows(b, j) + 1) * m->scale[j];
    s = b->desc.choose(b->desc.choose_self, b->costs, b->used);
    if (s >= 0 && s < b->used && m->scale[s] < INFINITY) return s;
    RLLB_I_TALLY(b, choose_refused);
    return rllb_i_scan(b, m, m->scale, false);
}

/* The reply to serve by, or -1 if fewer than two are left. The cold go by latency, the hot come after them and go by
   in-flight number: bits of one order for both. Nothing here branches on what is chance. */
static int32_t rllb_i_best_reply(rllb_balancer *b, const rllb_i_mind *m)
{
    int32_t i, kept = 0, best = 0;
    uint32_t least = UINT32_MAX;

    for (i = 0; i < b->replies; i++) {
        rllb_i_reply r = b->reply[i];
        int old = b->now_s - r.at_s > (double)b->desc.reply_s;
        b->reply[kept] = r;
        kept += (r.server < b->used) & (r.uses < b->desc.reuse) & !old & (m->scale[r.server] < INFINITY);
    }
    b->replies = kept;
    for (i = 0; i < kept; i++) {
        const rllb_i_reply *r = &b->reply[i];
        uint32_t hot = r->in_flight > b->hot_above, number = (uint32_t)rllb_i_bits_of(r->in_flight + 0.0f);
        uint32_t rank = hot << 31 | (number & (0 - hot)) | ((uint32_t)rllb_i_bits_of(r->latency_s + 0.0f) & (hot - 1));
        best = rank < least ? i : best;
        least = rank < least ? rank : least;
    }
    return kept < 2 ? -1 : best;
}

RLLB_I_APART static int32_t rllb_i_prequal(rllb_balancer *b, rllb_i_mind *m)
{
    int32_t best = b->live < 1 ? -2 : rllb_i_best_reply(b, m);

    if (best == -2) return -1;
    if (best < 0) return m->live[rllb_rng_below(&m->rng, b->live)];
    if (m == &b->mind[0]) { /* in shadow nothing is sent */
        b->reply[best].uses++;
        b->reply[best].in_flight += 1;
    }
    return b->reply[best].server;
}

static int32_t rllb_i_table_entry(const rllb_balancer *b, uint32_t at)
{
    return (int32_t)RLLB_I_LOAD(&b->table[(size_t)b->table_turn * (uint32_t)b->desc.table + at]);
}

/* Onwards from the key's entry to the first server that has room. */
RLLB_I_APART static int32_t rllb_i_bounded(rllb_balancer *b, rllb_i_mind *m, uint32_t at)
{
    int32_t w, step, all = 0, size = b->desc.table;
    double room;

    for (w = 0; w < b->workers; w++) {
        all += (int32_t)RLLB_I_LOAD(&b->scalars[(size_t)w * RLLB_I_SCALARS + RLLB_I_FLOWS]);
    }
    room = (1 + (double)b->desc.bound) * (all + 1.0) / (double)b->weight_sum;
    for (step = 0; step < size && step < 4096; step++) {
        int32_t s = rllb_i_table_entry(b, at);
        if (s < b->used && m->scale[s] < INFINITY && rllb_i_flows(b, s) < ceil(room * (double)m->weight[s])) return s;
        if (++at == (uint32_t)size) at = 0;
    }
    return rllb_i_scan(b, m, m->scale, false);
}

RLLB_I_APART static int32_t rllb_i_by_key(rllb_balancer *b, rllb_i_mind *m, uint64_t key)
{
    uint64_t hash = key ? rllb_i_mix(key) : rllb_rng_u64(&m->rng);
    uint32_t at;
    int32_t s;

    if (b->live < 1) return -1;
    if (m->how == RLLB_BALANCE_ECMP) return m->live[((hash >> 32) * (uint64_t)b->live) >> 32];
    if (m->how == RLLB_BALANCE_WCMP) return rllb_i_draw_column(m, b->used, hash);
    at = (uint32_t)(((hash >> 32) * (uint64_t)b->desc.table) >> 32);
    if (m->how == RLLB_BALANCE_MAGLEV_BOUNDED) return rllb_i_bounded(b, m, at);
    s = rllb_i_table_entry(b, at);
    return s < b->used ? s : -1;
}

static int32_t rllb_i_decide(rllb_balancer *b, rllb_i_mind *m, uint64_t key)
{
    int32_t s = -1;

    switch (m->how) {
    case RLLB_BALANCE_SED:
    case RLLB_BALANCE_LSQ: return rllb_i_scan(b, m, m->scale, false);
    case RLLB_BALANCE_NQ: return rllb_i_scan(b, m, m->scale, true);
    case RLLB_BALANCE_LEAST_TIME: return rllb_i_scan(b, m, b->time_scale, false);
    case RLLB_BALANCE_C3: s = rllb_i_c3(b, m); break;
    case RLLB_BALANCE_CHOOSE: return rllb_i_choose(b, m);
    case RLLB_BALANCE_GSQ:
    case RLLB_BALANCE_SRT:
    case RLLB_BALANCE_SED_ORACLE: s = rllb_i_oracle(b, m); break;
    case RLLB_BALANCE_ROUND_ROBIN: s = rllb_i_round(b, m); break;
    case RLLB_BALANCE_WEIGHTED_ROUND_ROBIN: s = rllb_i_smooth(b, m); break;
    case RLLB_BALANCE_P2C:
    case RLLB_BALANCE_P2C_WEIGHTED: s = rllb_i_two(b, m, false); break;
    case RLLB_BALANCE_PEAK_EWMA: s = rllb_i_two(b, m, true); break;
    case RLLB_BALANCE_DRAW: s = rllb_i_draw(b, m); break;
    case RLLB_BALANCE_JIQ:
        s = rllb_i_scan(b, m, m->scale, true);
        if (s >= 0 && rllb_i_flows(b, s) > 0) s = rllb_i_draw_column(m, b->used, rllb_rng_u64(&m->rng));
        break;
    case RLLB_BALANCE_PREQUAL: s = rllb_i_prequal(b, m); break;
    case RLLB_BALANCE_ECMP:
    case RLLB_BALANCE_WCMP:
    case RLLB_BALANCE_MAGLEV:
    case RLLB_BALANCE_MAGLEV_BOUNDED: s = rllb_i_by_key(b, m, key); break;
    case RLLB_BALANCE_AWCMP:
    case RLLB_BALANCE_HLB:
    case RLLB_BALANCE_EQUALISE:
    case RLLB_BALANCE_LEARNED:
    case RLLB_BALANCE_NUM: break;
    }
    /* Suspended since the tables were made, or costs that were no numbers: the best by what is in flight. */
    return s >= 0 && m->scale[s] < INFINITY ? s : rllb_i_scan(b, m, m->scale, false);
}

/* Time that is no number or runs backwards stands still; a clock set back by more than a minute is followed. */
static bool rllb_i_hear_time(rllb_balancer *b, double now_s)
{
    if (now_s >= b->now_s && now_s < RLLB_I_TIME_MAX) {
        b->now_s = now_s;
        return true;
    }
    RLLB_I_TALLY(b, bad_time);
    if (now_s > -RLLB_I_TIME_MAX && now_s < b->now_s - 60) b->now_s = now_s;
    return false;
}

/* Algorithm 2 of the CIKM'22 paper: with some chance, into a slot at random. There one random number decides both, and
   where 1 / p and K share a divisor only some slots are ever used; here they are independent, as the paper's own
   E = lambda p ((K - p) / K)^(lambda T) has it. */
static void rllb_i_put_sample(rllb_balancer *b, uint64_t *slots, float value)
{
    uint64_t random = rllb_rng_u64(&b->mind[1].rng);
    uint32_t at = (uint32_t)(((random >> 32) * (uint64_t)(uint32_t)b->lane_slots) >> 32), bits, tick;

    if ((uint32_t)random > b->keep_below || b->now_s <= -RLLB_I_TIME_MAX) return;
    bits = (uint32_t)rllb_i_bits_of(value > FLT_MIN ? value : FLT_MIN); /* 0 marks an empty slot */
    tick = (uint32_t)(int64_t)(b->now_s * RLLB_I_TICKS_PER_S);
    RLLB_I_STORE(&slots[at], ((uint64_t)tick << 32) | bits);
}

/* The time since the request before is a sample too. */
static void rllb_i_arrive(rllb_balancer *b)
{
    double gap = b->now_s - b->arrived_s;

    b->arrived_s = b->now_s;
    if (gap >= 0) rllb_i_put_sample(b, b->arrivals + (size_t)b->lane * (size_t)b->lane_slots, (float)gap);
}

/* What few picks, or few balancers, have to do. */
RLLB_I_APART static int32_t rllb_i_decide_more(rllb_balancer *b, uint64_t key)
{
    int32_t s = -1, other;

    if (b->extras & RLLB_I_ARRIVALS) rllb_i_arrive(b);
    if (b->owed > 0) {
        s = b->owing[--b->owed];
        if (!(b->mind[0].scale[s] < INFINITY) && rllb_i_flows(b, s) > 0) s = -1; /* one at a time until it is back */
        else RLLB_I_TALLY(b, probes);
    }
    if (b->owed == 0) b->extras &= ~RLLB_I_OWED;
    if (s < 0) s = rllb_i_decide(b, &b->mind[0], key);
    if (b->extras & RLLB_I_SHADOW) {
        other = rllb_i_decide(b, &b->mind[1], key);
        RLLB_I_TALLY(b, shadow_picks);
        if (other != s) RLLB_I_TALLY(b, shadow_differs);
    }
    return s;
}

/* Sees to it that there is something to pick by, the newest if it can be had. Only a handle that has nothing yet, and a
   keeper that publishes without a pause, make it try more than once. */
static bool rllb_i_look(rllb_balancer *b)
{
    int32_t tries;

    if (RLLB_I_LOAD_ACQUIRE(&b->head->sequence) != b->adopted) {
        rllb_i_adopt(b);
        for (tries = 0; !b->now && tries < 1000; tries++) rllb_i_adopt(b);
    }
    return b->now != NULL;
}

static RLLB_I_ALWAYS_INLINE void rllb_i_note(rllb_balancer *b, int32_t server)
{
    b->log[b->logged++ % RLLB_I_LOG] = (uint16_t)server;
}

static int32_t rllb_i_take(rllb_balancer *b, int32_t s)
{
    if (s < 0) {
        RLLB_I_TALLY(b, no_server);
        return -1;
    }
    RLLB_I_STORE(&b->own[s], b->own[s] + 1);
    RLLB_I_STORE(&b->mine[s].picks, b->mine[s].picks + 1);
    if (b->counts_flows) RLLB_I_STORE(&b->count[RLLB_I_FLOWS], b->count[RLLB_I_FLOWS] + 1);
    rllb_i_note(b, s);
    return s;
}

void rllb_balancer_expect(const rllb_balancer *b, int32_t server)
{
    uint64_t at;

    if (!b || server >= b->desc.capacity) return;
    if (server >= 0) {
        RLLB_I_PREFETCH(&b->own[server]);
        RLLB_I_PREFETCH(&b->mine[server]);
        return;
    }
    if (!b->scanned_by) return;
    at = b->logged > b->scanned + 4 ? b->logged - 4 : b->scanned;
    for (; at != b->logged; at++) {
        server = b->log[at % RLLB_I_LOG];
        RLLB_I_PREFETCH(&b->own[server]);
        RLLB_I_PREFETCH(&b->scanned_by[server]);
    }
    RLLB_I_PREFETCH(&b->blocks.least[0]);
    RLLB_I_PREFETCH(&b->blocks.most[0]);
    RLLB_I_PREFETCH(&b->blocks.ties[0]);
}

int32_t rllb_balancer_pick(rllb_balancer *b, uint64_t key, double now_s)
{
    if (!b || b->keeper_only) return -1;
    rllb_i_hear_time(b, now_s);
    if (!rllb_i_look(b)) return rllb_i_take(b, -1);
    return rllb_i_take(b, b->extras ? rllb_i_decide_more(b, key) : rllb_i_decide(b, &b->mind[0], key));
}

int32_t rllb_balancer_pick_other(rllb_balancer *b, const int32_t *tried, int32_t count, double now_s)
{
    const rllb_i_mind *m;
    int32_t i, j;

    if (!b || b->keeper_only || count < 0 || (count && !tried)) return -1;
    rllb_i_hear_time(b, now_s);
    if (!rllb_i_look(b)) return rllb_i_take(b, -1);
    m = &b->mind[0];
    for (j = 0; j < b->used; j++) {
        b->costs[j] = m->scale[j] < INFINITY ? (float)(rllb_i_flows(b, j) + 1) / m->weight[j] : INFINITY;
    }
    for (i = 0; i < count; i++) {
        if (tried[i] >= 0 && tried[i] < b->used) b->costs[tried[i]] = INFINITY;
    }
    return rllb_i_take(b, rllb_i_scan_costs(b, &b->mind[0], b->costs));
}

/* ---- >>outcomes --------------------------------------------------------------------------------------------
   What comes back: ends of requests, samples of running ones, reports of servers. Writes this worker's own cells and
   samples; each sample is one word, its time and its value together. */

/* The moving average that this policy goes by. */
static void rllb_i_average(rllb_balancer *b, int32_t server, float elapsed_s)
{
    float old = rllb_i_float_of(RLLB_I_LOAD(&b->mine[server].average)), newest = b->newest, average;

    if (b->desc.policy == RLLB_BALANCE_PEAK_EWMA) {
        double age = b->now_s - b->stamp_s[server];
        newest = elapsed_s > old ? 1 : 1 - (float)exp(-(age > 0 ? age : 0) / (double)b->desc.ewma_s);
        b->stamp_s[server] = b->now_s;
    } else if (b->desc.policy == RLLB_BALANCE_LEAST_TIME) {
        double age = b->now_s - b->stamp_s[server];
        float fresh = 1 - (float)exp(-(age > 0 ? age : 0) / 2); /* what nobody checked for long counts less */
        if (fresh > newest) newest = fresh;
        b->stamp_s[server] = b->now_s;
    }
    average = old > 0 ? old + newest * (elapsed_s - old) : elapsed_s;
    if (average < FLT_MIN) average = FLT_MIN; /* 0 means none yet */
    RLLB_I_STORE(&b->mine[server].average, rllb_i_bits_of(average));
    if (b->desc.policy == RLLB_BALANCE_LEAST_TIME && b->now && server < b->used) {
        b->time_scale[server] = b->mind[0].scale[server] * average;
    }
}

static void rllb_i_take_duration(rllb_balancer *b, int32_t server, float elapsed_s)
{
    size_t at = ((size_t)b->lane * (size_t)b->stride + (size_t)server) * (size_t)b->lane_slots;

    if (b->lane_slots) {
        rllb_i_put_sample(b, b->slots + at, elapsed_s);
        if (b->desc.features == RLLB_FEATURES_NEURIPS) rllb_i_put_sample(b, b->ends + at, elapsed_s);
    }
    rllb_i_average(b, server, elapsed_s);
    rllb_i_add_double(&b->mine[server].duration_sum, (double)elapsed_s);
    rllb_i_add_to(&b->mine[server].samples, 1);
    rllb_i_add_double(&b->count[RLLB_I_SUM], (double)elapsed_s);
    rllb_i_add_to(&b->count[RLLB_I_SAMPLES], 1);
    if (b->desc.reward == RLLB_REWARD_MEAN_LOG) {
        rllb_i_add_double(&b->count[RLLB_I_LOG_SUM], log(elapsed_s > 1e-9f ? (double)elapsed_s : 1e-9));
    }
}

/* Too many failures in a row: out of this handle's sight until the keeper has looked at it. */
static void rllb_i_suspend(rllb_balancer *b, int32_t server)
{
    float *scale;

    if (!b->now || server >= b->used || b->suspensions < 1 || !(b->mind[0].scale[server] < INFINITY)) return;
    scale = rllb_i_set(b, b->copy[1], 0);
    scale[server] = INFINITY;
    b->time_scale[server] = INFINITY;
    b->scanned_by = NULL;
    b->suspensions--;
}

static void rllb_i_fail(rllb_balancer *b, int32_t server)
{
    rllb_i_cell *cell = &b->mine[server];
    int32_t streak = RLLB_I_LOAD(&cell->streak);
    float most = b->desc.guard.eject_failures;

    b->failed = true;
    rllb_i_add_to(&cell->failed, 1);
    if (streak < INT32_MAX) RLLB_I_STORE(&cell->streak, ++streak);
    if (most >= 0 && (float)streak >= most) rllb_i_suspend(b, server);
}

/* The first that goes well. After as many failures as eject a server its average begins anew. */
static void rllb_i_recover(rllb_balancer *b, int32_t server)
{
    rllb_i_cell *cell = &b->mine[server];
    float most = b->desc.guard.eject_failures;

    if (most >= 0 && (float)RLLB_I_LOAD(&cell->streak) >= most) RLLB_I_STORE(&cell->average, 0);
    RLLB_I_STORE(&cell->streak, 0);
}

static rllb_status rllb_i_server_check(rllb_balancer *b, int32_t server)
{
    if (!b || b->keeper_only) return RLLB_ERROR_ARGUMENT;
    if (server >= 0 && server < b->desc.capacity) return RLLB_OK;
    RLLB_I_TALLY(b, bad_server);
    return RLLB_ERROR_ARGUMENT;
}

rllb_status rllb_balancer_started(rllb_balancer *b, int32_t server, double now_s)
{
    rllb_status status = rllb_i_server_check(b, server);

    if (status != RLLB_OK) return status;
    rllb_i_hear_time(b, now_s);
    if (!rllb_i_look(b) || server >= b->used) {
        RLLB_I_TALLY(b, bad_server);
        return RLLB_ERROR_ARGUMENT;
    }
    if (b->extras & RLLB_I_ARRIVALS) rllb_i_arrive(b);
    rllb_i_take(b, server);
    return RLLB_OK;
}

rllb_status rllb_balancer_done(rllb_balancer *b, int32_t server, double started_s, double now_s, rllb_outcome outcome)
{
    rllb_status status = rllb_i_server_check(b, server);
    double elapsed = now_s - started_s;
    bool heard;

    if (status != RLLB_OK) return status;
    if (b->own[server] <= 0) {
        RLLB_I_TALLY(b, stray_done);
        return RLLB_ERROR_STATE;
    }
    RLLB_I_STORE(&b->own[server], b->own[server] - 1);
    RLLB_I_STORE(&b->mine[server].done, b->mine[server].done + 1);
    if (b->counts_flows) RLLB_I_STORE(&b->count[RLLB_I_FLOWS], b->count[RLLB_I_FLOWS] - 1);
    rllb_i_note(b, server);
    heard = rllb_i_hear_time(b, now_s);
    if (outcome == RLLB_OUTCOME_FAILED) rllb_i_fail(b, server);
    else if (outcome != RLLB_OUTCOME_OK) return outcome == RLLB_OUTCOME_CANCELLED ? RLLB_OK : RLLB_ERROR_ARGUMENT;
    else if (RLLB_I_LOAD(&b->mine[server].streak)) rllb_i_recover(b, server);
    if (!(elapsed >= 0) || !(elapsed < RLLB_I_TIME_MAX)) {
        if (heard) RLLB_I_TALLY(b, bad_time);
        return elapsed < 0 ? RLLB_ERROR_UNSORTED : RLLB_ERROR_NOT_FINITE;
    }
    if (outcome == RLLB_OUTCOME_FAILED && elapsed < (double)b->desc.guard.failure_s) {
        elapsed = (double)b->desc.guard.failure_s;
    }
    rllb_i_take_duration(b, server, (float)elapsed);
    return RLLB_OK;
}

rllb_status rllb_balancer_sample(rllb_balancer *b, int32_t server, double elapsed_s, double now_s)
{
    rllb_status status = rllb_i_server_check(b, server);

    if (status != RLLB_OK) return status;
    if (!(elapsed_s >= 0) || !(elapsed_s < RLLB_I_TIME_MAX) || !rllb_i_finite(now_s)) {
        RLLB_I_TALLY(b, bad_time);
        return elapsed_s < 0 ? RLLB_ERROR_UNSORTED : RLLB_ERROR_NOT_FINITE;
    }
    if (b->own[server] <= 0) {
        RLLB_I_TALLY(b, stray_done);
        return RLLB_ERROR_STATE;
    }
    rllb_i_hear_time(b, now_s);
    if (b->lane_slots) {
        size_t at = ((size_t)b->lane * (size_t)b->stride + (size_t)server) * (size_t)b->lane_slots;
        rllb_i_put_sample(b, b->slots + at, (float)elapsed_s);
    }
    return RLLB_OK;
}

static void rllb_i_take_reply(rllb_balancer *b, int32_t server, const rllb_report *report)
{
    int32_t i, at = b->replies;

    for (i = 0; i < b->replies; i++) {
        if (b->reply[i].server == server) at = i;
    }
    if (at == RLLB_I_POOL) { /* full: the oldest makes room */
        for (at = 0, i = 1; i < RLLB_I_POOL; i++) {
            if (b->reply[i].at_s < b->reply[at].at_s) at = i;
        }
    } else if (at == b->replies) {
        b->replies++;
    }
    b->heard[b->heard_count++ % RLLB_I_HEARD] = report->in_flight;
    if (b->heard_count % 8 == 0 || b->heard_count < RLLB_I_HEARD) {
        i = b->heard_count < RLLB_I_HEARD ? b->heard_count : RLLB_I_HEARD;
        b->hot_above = b->k->quantile(b->heard, i, (double)b->desc.hot);
    }
    if (b->heard_count == 2 * RLLB_I_HEARD) b->heard_count = RLLB_I_HEARD;
    b->reply[at].server = server;
    b->reply[at].uses = 0;
    b->reply[at].in_flight = report->in_flight;
    b->reply[at].latency_s = report->latency_s;
    b->reply[at].at_s = b->now_s;
}

rllb_status rllb_balancer_report(rllb_balancer *b, int32_t server, const rllb_report *report, double now_s)
{
    rllb_status status = rllb_i_server_check(b, server);
    bool flight, latency;

    if (status != RLLB_OK) return status;
    if (!report) return RLLB_ERROR_ARGUMENT;
    if (report->in_flight < 0 || report->latency_s < 0 || report->utilisation < 0) return RLLB_ERROR_ARGUMENT;
    rllb_i_hear_time(b, now_s);
    rllb_i_look(b);
    flight = report->in_flight < 1e9f;
    latency = report->latency_s < 1e9f;
    if (report->utilisation < 1e9f) {
        RLLB_I_STORE(&b->mine[server].utilisation, rllb_i_bits_of(report->utilisation));
    }
    if (b->desc.policy == RLLB_BALANCE_C3) {
        float *service = &b->service[server], *queue = &b->queue[server];
        if (flight) *queue += b->newest * (report->in_flight - *queue);
        if (latency && *service > 0) *service += b->newest * (report->latency_s - *service);
        else if (latency) *service = report->latency_s;
    }
    if (b->desc.policy == RLLB_BALANCE_PREQUAL && flight && latency) rllb_i_take_reply(b, server, report);
    return RLLB_OK;
}

int32_t rllb_balancer_probe(rllb_balancer *b, int32_t *servers, int32_t most)
{
    int32_t i, j, n = 0;

    if (!b || b->keeper_only || !servers) return 0;
    if (!rllb_i_look(b)) return 0;
    /* Floyd's sampling: the i-th round draws from the first i, and takes i itself where that is taken already. */
    for (i = b->live - (most < b->live ? most : b->live); i < b->live; i++) {
        int32_t s = b->mind[0].live[rllb_rng_below(&b->mind[1].rng, i + 1)];
        for (j = 0; j < n && servers[j] != s; j++) {}
        servers[n] = j < n ? b->mind[0].live[i] : s;
        n++;
    }
    return n;
}

/* ---- >>features --------------------------------------------------------------------------------------------
   What a tick sees: the reservoirs of all workers together, reduced to a few numbers a server. */

/* Gathers the samples in `slots` (lane after lane, `step` words apart) into value and age; how many count. */
static int32_t rllb_i_gather(rllb_balancer *b, const uint64_t *slots, size_t step, double now_s)
{
    uint32_t now = (uint32_t)(int64_t)(now_s * RLLB_I_TICKS_PER_S);
    int32_t w, i, n = 0, all = b->lane_slots * b->workers;

    for (w = 0; w < b->workers; w++) {
        n += b->k->split(slots + (size_t)w * step, b->lane_slots, now, b->value + n, b->age + n);
    }
    for (i = n; i < b->padded_slots; i++) b->value[i] = b->age[i] = 0;
    return b->desc.empty_as_zero ? all : n;
}

typedef struct rllb_i_summary {
    rllb_i_moments moments;
    float p90, decayed_p90;
    int32_t count;
} rllb_i_summary;

static void rllb_i_summarise(rllb_balancer *b, const uint64_t *slots, size_t step, double now_s, rllb_i_summary *out)
{
    float rate = -log2f(b->desc.discount);

    memset(out, 0, sizeof *out);
    out->count = rllb_i_gather(b, slots, step, now_s);
    if (out->count < 1) return;
    b->k->reduce(b->value, b->age, out->count, rate, b->product, &out->moments);
    out->p90 = b->k->quantile(b->value, out->count, 0.9);
    if (b->desc.features != RLLB_FEATURES_NEURIPS) out->decayed_p90 = b->k->quantile(b->product, out->count, 0.9);
}

/* How long requests take here when there is no queue, up to a factor that all servers share: the 2 % quantile, followed
   over many minutes, of the moving average of durations. Congestion lifts every quantile of single durations, and a
   server that drowns would pass for one that is slow by nature; the low end of a mean is a quiet moment. An average
   that heard of nothing new says nothing new: of few samples a second each counts once. */
static void rllb_i_remember_unloaded(rllb_i_server *s, float average, uint64_t samples, double elapsed_s)
{
    const float step = 0.01f, low = 0.02f;
    double fresh = (double)(samples - s->heard), quarters = elapsed_s < 1 ? elapsed_s * 4 : 4;

    s->heard = samples;
    if (quarters > fresh) quarters = fresh;
    if (!(average > 0) || samples - s->samples_at_start < 20) return;
    if (!(s->unloaded > 0)) s->unloaded = average;
    else s->unloaded *= (float)exp(quarters * (double)step * (double)(average < s->unloaded ? low - 1 : low));
}

/* Five numbers in the order of the NEURIPS features. */
static void rllb_i_put_five(const rllb_i_summary *m, float *out)
{
    out[0] = m->moments.mean;
    out[1] = m->moments.stddev;
    out[2] = m->p90;
    out[3] = m->moments.discounted;
    out[4] = m->moments.decayed;
}

static void rllb_i_observe_server(rllb_balancer *b, int32_t j, double now_s, double elapsed_s, float *out)
{
    rllb_i_server *s = &b->server[j];
    size_t at = (size_t)j * (size_t)b->lane_slots, step = (size_t)b->stride * (size_t)b->lane_slots;
    float in_flight = (float)rllb_i_flows(b, j);
    rllb_i_summary durations, completed;
    rllb_i_ends ends;

    rllb_i_ends_of(b, j, &ends);
    rllb_i_summarise(b, b->slots + at, step, now_s, &durations);
    rllb_i_remember_unloaded(s, rllb_i_average_of(b, j), ends.samples, elapsed_s);
    s->duration = durations.moments.discounted; /* a plain mean would hold a healed server's past against it */
    out[0] = in_flight;
    if (b->desc.features == RLLB_FEATURES_NEURIPS) {
        rllb_i_summarise(b, b->ends + at, step, now_s, &completed);
        rllb_i_put_five(&durations, out + 1);
        rllb_i_put_five(&completed, out + 6);
    } else {
        out[1] = durations.moments.mean;
        out[2] = durations.p90;
        out[3] = durations.moments.stddev;
        out[4] = durations.moments.decayed;
        out[5] = durations.decayed_p90;
    }
    if (b->desc.features == RLLB_FEATURES_OWN) {
        out[6] = s->unloaded;
        out[7] = s->in_force;
    }
    s->smoothed = s->field = durations.count ? out[b->desc.reward_field - 1] : -1;
}

/* RELATIVE is made in two steps: what is known of each server in its own units, then that over the means of all. */
enum {
    RLLB_I_NEWS,
    RLLB_I_FAST,
    RLLB_I_SLOW,
    RLLB_I_UNLOADED,
    RLLB_I_WEIGHT,
    RLLB_I_HELD,
    RLLB_I_ENDED,
    RLLB_I_KNOWN,
    RLLB_I_VIEW,
    RLLB_I_RAW
};
#define RLLB_I_FORGET 0.998     /* a tick, by the regressions of durations on what is in flight */
#define RLLB_I_VIEW_LEAST 10.0  /* squared flows before a regression counts for half */

static double rllb_i_view(double xy, double xx, double flows)
{
    return xy / (xx + RLLB_I_VIEW_LEAST) * (1 + flows);
}

/* A number for a network: small, whatever was measured. */
static float rllb_i_tame(double v)
{
    return v > 4 ? 4.0f : v < -4 ? -4.0f : v == v ? (float)v : 0;
}

/* Takes in what ended at a server since the last tick, and how that went with what was in flight before. */
static void rllb_i_hear_of(rllb_balancer *b, int32_t j, float *raw)
{
    const double memory = 40; /* of the slow average, in ends */
    rllb_i_server *s = &b->server[j];
    double fresh, lived, mean, own = (double)(s->flows_at_tick - s->flows), xx, xy;
    rllb_i_ends ends;

    rllb_i_ends_of(b, j, &ends);
    fresh = ends.samples > s->told ? (double)(ends.samples - s->told) : 0;
    lived = (double)(ends.samples - s->samples_at_start);
    if (lived > memory) lived = memory;
    mean = fresh > 0 ? (ends.duration_sum - s->told_sum) / fresh : 0;
    if (fresh > 0 && mean >= 0 && mean < RLLB_I_TIME_MAX) {
        raw[RLLB_I_NEWS] = (float)(mean * fresh);
        raw[RLLB_I_ENDED] = (float)fresh;
        if (s->slow > 0 && s->slow < FLT_MAX) {
            xx = fresh * own * own;
            xy = fresh * own * (mean / (double)s->slow - 1);
            s->view_xx += xx;
            s->view_xy += xy;
            b->head->view_xx += xx;
            b->head->view_xy += xy;
            mean = (double)s->slow + (mean - (double)s->slow) * (fresh < lived ? fresh / lived : 1);
        }
        s->slow = mean > (double)FLT_MIN ? (float)mean : FLT_MIN;
    }
    raw[RLLB_I_KNOWN] = (float)lived;
    s->told = ends.samples;
    s->told_sum = ends.duration_sum;
}

static void rllb_i_observe_raw(rllb_balancer *b, int32_t j, double elapsed_s, float *raw)
{
    const float share = 0.05f; /* of a tick in the averaged q */
    rllb_i_server *s = &b->server[j];
    float q = (float)rllb_i_flows(b, j), fast = rllb_i_average_of(b, j);

    s->view_xy *= RLLB_I_FORGET;
    s->view_xx *= RLLB_I_FORGET;
    rllb_i_hear_of(b, j, raw);
    rllb_i_remember_unloaded(s, fast, s->told, elapsed_s);
    s->flows += share * (q - s->flows);
    s->flows_at_tick = q;
    s->duration = fast;
    s->smoothed = s->field = fast > 0 ? fast : -1;
    raw[RLLB_I_FAST] = fast;
    raw[RLLB_I_SLOW] = s->slow;
    raw[RLLB_I_UNLOADED] = s->unloaded;
    raw[RLLB_I_WEIGHT] = rllb_i_found(b, s);
    raw[RLLB_I_HELD] = s->flows;
    raw[RLLB_I_VIEW] = rllb_i_tame(rllb_i_view(s->view_xy, s->view_xx, (double)s->flows));
}

/* Means of the raw numbers over the servers that have them: of fast, slow, unloaded and weight those of the logarithms;
   of q and ends plain ones; of the logarithm of the stretch, by both averages. */
typedef struct rllb_i_means {
    double of[RLLB_I_KNOWN], stretch_slow, stretch_fast;
} rllb_i_means;

static void rllb_i_mean_raw(const rllb_balancer *b, const float *raw, rllb_i_means *m)
{
    int32_t j, i, servers = 0, n[RLLB_I_KNOWN] = { 0 };

    memset(m, 0, sizeof *m);
    for (j = 0; j < b->head->used; j++, raw += RLLB_I_RAW) {
        if (b->server[j].state == RLLB_SERVER_NONE) continue;
        servers++;
        m->of[RLLB_I_HELD] += (double)raw[RLLB_I_HELD];
        m->of[RLLB_I_ENDED] += (double)raw[RLLB_I_ENDED];
        for (i = RLLB_I_FAST; i <= RLLB_I_WEIGHT; i++) {
            if (!(raw[i] > 0)) continue;
            m->of[i] += log((double)raw[i]);
            n[i]++;
        }
        if (!(raw[RLLB_I_UNLOADED] > 0)) continue; /* then both averages are there */
        m->stretch_slow += log((double)raw[RLLB_I_SLOW] / (double)raw[RLLB_I_UNLOADED]);
        m->stretch_fast += log((double)raw[RLLB_I_FAST] / (double)raw[RLLB_I_UNLOADED]);
    }
    n[RLLB_I_HELD] = n[RLLB_I_ENDED] = servers;
    for (i = RLLB_I_FAST; i < RLLB_I_KNOWN; i++) m->of[i] /= n[i] ? n[i] : 1;
    m->stretch_slow /= n[RLLB_I_UNLOADED] ? n[RLLB_I_UNLOADED] : 1;
    m->stretch_fast /= n[RLLB_I_UNLOADED] ? n[RLLB_I_UNLOADED] : 1;
}

static void rllb_i_relate(const rllb_i_means *m, float *x)
{
    double ended = (double)x[RLLB_I_ENDED], expected = (double)x[RLLB_I_UNLOADED] * exp(m->stretch_slow);
    int32_t i;

    x[RLLB_I_NEWS] = expected > 0 ? rllb_i_tame(4 * ((double)x[RLLB_I_NEWS] / expected - ended) / (ended + 8)) : 0;
    for (i = RLLB_I_FAST; i <= RLLB_I_WEIGHT; i++) x[i] = x[i] > 0 ? rllb_i_tame(log((double)x[i]) - m->of[i]) : 0;
    x[RLLB_I_HELD] = rllb_i_tame(log(((double)x[RLLB_I_HELD] + 0.1) / (m->of[RLLB_I_HELD] + 0.1)));
    x[RLLB_I_ENDED] = rllb_i_tame(log1p(ended));
    x[RLLB_I_KNOWN] /= x[RLLB_I_KNOWN] + 20;
}

static void rllb_i_observe_relative(rllb_balancer *b, double elapsed_s)
{
    rllb_i_head *h = b->head;
    int32_t j, n = h->used, servers = 0;
    float *common = b->observation, *x = common + rllb_i_seen[RLLB_FEATURES_RELATIVE].common;
    rllb_i_means m;

    memset(b->observation, 0, (size_t)b->observations * sizeof(float));
    h->view_xy *= RLLB_I_FORGET;
    h->view_xx *= RLLB_I_FORGET;
    for (j = 0; j < n; j++, x += RLLB_I_RAW) {
        rllb_i_server *s = &b->server[j];
        if (s->state == RLLB_SERVER_NONE) {
            s->smoothed = s->field = -1;
            continue;
        }
        servers++;
        rllb_i_observe_raw(b, j, elapsed_s, x);
    }
    x = common + rllb_i_seen[RLLB_FEATURES_RELATIVE].common;
    rllb_i_mean_raw(b, x, &m);
    for (j = 0; j < n; j++, x += RLLB_I_RAW) {
        if (b->server[j].state != RLLB_SERVER_NONE) rllb_i_relate(&m, x);
    }
    common[0] = rllb_i_tame(m.stretch_slow);
    common[1] = rllb_i_tame(m.stretch_fast);
    common[2] = rllb_i_tame(log1p(m.of[RLLB_I_HELD]));
    common[3] = rllb_i_tame(rllb_i_view(h->view_xy, h->view_xx, m.of[RLLB_I_HELD]));
    common[4] = rllb_i_tame(log1p(m.of[RLLB_I_ENDED]));
    common[5] = (float)(log2((double)(servers > 1 ? servers : 1)) / 4);
}

/* All features; each server's reward field, smoothed with the one before (Eq. 18). */
static void rllb_i_observe_all(rllb_balancer *b, double now_s, double elapsed_s)
{
    int32_t j, i, n = b->head->used, seen = 0;
    bool more = b->desc.features == RLLB_FEATURES_NEURIPS;
    int32_t per = rllb_i_seen[b->desc.features].per;
    float *out = b->observation + rllb_i_seen[b->desc.features].common, newest = b->desc.reward_newest;
    rllb_i_summary arrivals;

    memset(b->observation, 0, (size_t)b->observations * sizeof(float));
    for (j = 0; j < n; j++, out += per) {
        rllb_i_server *s = &b->server[j];
        float before = s->field;
        if (s->state == RLLB_SERVER_NONE) {
            s->smoothed = s->field = -1;
            continue;
        }
        seen++;
        rllb_i_observe_server(b, j, now_s, elapsed_s, out);
        if (s->field >= 0 && before >= 0) s->smoothed = (1 - newest) * before + newest * s->field;
        for (i = 0; more && i < 11; i++) b->observation[i] += out[i];
    }
    if (!more) return;
    for (i = 0; i < 11 && seen; i++) b->observation[i] /= (float)seen;
    rllb_i_summarise(b, b->arrivals, (size_t)b->lane_slots, now_s, &arrivals);
    rllb_i_put_five(&arrivals, b->observation + 11);
}

/* ---- >>rewards ---------------------------------------------------------------------------------------------
   What an interval was worth. Fields come from the features, durations from the workers' sums. */

static double rllb_i_fairness_of(const rllb_balancer *b, const float *fields, int32_t n)
{
    return n < 1 ? (double)NAN : rllb_fairness((rllb_fairness_kind)(int)b->desc.reward, fields, n);
}

static bool rllb_i_rewards_durations(const rllb_balancer *b)
{
    return b->desc.reward == RLLB_REWARD_MEAN || b->desc.reward == RLLB_REWARD_MEAN_LOG;
}

/* Minus the mean over the flows of an interval; NaN if there were none. */
static double rllb_i_mean_reward(const rllb_balancer *b, const rllb_i_interval *i)
{
    double sum = b->desc.reward == RLLB_REWARD_MEAN_LOG ? i->log_sum : i->sum;
    return i->count > 0 ? -sum / i->count : (double)NAN;
}

static double rllb_i_mix_rewards(const rllb_balancer *b, double before, double latest)
{
    double newest = (double)b->desc.reward_newest;
    if (latest != latest) return before;
    return before != before ? latest : (1 - newest) * before + newest * latest;
}

static void rllb_i_close_interval(rllb_balancer *b)
{
    rllb_i_head *h = b->head;
    rllb_i_interval total = { 0, 0, 0 };
    int32_t lane;

    for (lane = 0; lane < b->workers; lane++) {
        const uint64_t *scalars = b->scalars + (size_t)lane * RLLB_I_SCALARS;
        total.sum += rllb_i_load_double(&scalars[RLLB_I_SUM]);
        total.log_sum += rllb_i_load_double(&scalars[RLLB_I_LOG_SUM]);
        total.count += (double)RLLB_I_LOAD(&scalars[RLLB_I_SAMPLES]);
    }
    if (h->latest.count > 0) h->before = h->latest;
    h->latest.sum = total.sum - h->total.sum;
    h->latest.log_sum = total.log_sum - h->total.log_sum;
    h->latest.count = total.count - h->total.count;
    h->total = total;
}

static void rllb_i_reward_update(rllb_balancer *b)
{
    rllb_i_head *h = b->head;
    float *fields = b->costs;
    int32_t j, n = 0;
    double reward;

    if (rllb_i_rewards_durations(b)) {
        reward = rllb_i_mix_rewards(b, rllb_i_mean_reward(b, &h->before), rllb_i_mean_reward(b, &h->latest));
    } else {
        for (j = 0; j < h->used; j++) {
            if (b->server[j].smoothed >= 0) fields[n++] = b->server[j].smoothed;
        }
        reward = rllb_i_fairness_of(b, fields, n);
    }
    if (reward == reward) h->reward = reward; /* nothing ended: nothing new to tell */
}

double rllb_balancer_reward(const rllb_balancer *b)
{
    return b && b->desc.slots ? b->head->reward : (double)NAN;
}

static void rllb_i_interval_add(rllb_i_interval *to, const rllb_i_interval *from)
{
    to->sum += from->sum;
    to->log_sum += from->log_sum;
    to->count += from->count;
}

double rllb_balancer_reward_shared(rllb_balancer *const *balancers, int32_t count, bool fields_first)
{
    rllb_i_interval before = { 0, 0, 0 }, latest = { 0, 0, 0 };
    rllb_balancer *first;
    double sum = 0;
    int32_t i, j, told = 0, n = 0, used = 0;

    if (!balancers || count < 1) return (double)NAN;
    for (i = 0; i < count; i++) {
        const rllb_balancer *b = balancers[i];
        double reward = rllb_balancer_reward(b);
        if (!b || !b->desc.slots || b->desc.reward != balancers[0]->desc.reward) return (double)NAN;
        rllb_i_interval_add(&before, &b->head->before);
        rllb_i_interval_add(&latest, &b->head->latest);
        if (b->head->used > used) used = b->head->used;
        if (reward != reward) continue;
        sum += reward;
        told++;
    }
    first = balancers[0];
    if (rllb_i_rewards_durations(first)) {
        return rllb_i_mix_rewards(first, rllb_i_mean_reward(first, &before), rllb_i_mean_reward(first, &latest));
    }
    if (!fields_first) return told ? sum / told : (double)NAN;
    for (j = 0; j < used && j < first->stride; j++) {
        double field = 0;
        for (told = 0, i = 0; i < count; i++) {
            if (j >= balancers[i]->head->used || balancers[i]->server[j].smoothed < 0) continue;
            field += (double)balancers[i]->server[j].smoothed;
            told++;
        }
        if (told) first->costs[n++] = (float)(field / told);
    }
    return rllb_i_fairness_of(first, first->costs, n);
}

/* ---- >>control ---------------------------------------------------------------------------------------------
   Weights found while traffic runs, by a controller or a rule, and what they are held to. */

/* What w may be: no further from what it was at the last tick, nor from the mean, than the guard allows. */
static float rllb_i_hold(const rllb_balancer *b, const rllb_i_server *s, double w)
{
    const rllb_guard *g = &b->desc.guard;
    double old = (double)(s->found_at_tick > 0 ? s->found_at_tick : rllb_i_found(b, s)), rate = (double)g->rate;

    if (rate >= 0 && w > old * rate) w = old * rate;
    if (rate >= 0 && w < old / rate) w = old / rate;
    if (w < (double)g->floor) w = (double)g->floor; /* off is negative */
    if (g->ceiling >= 0 && w > (double)g->ceiling) w = (double)g->ceiling;
    return w > 1e-15 ? (float)w : 1e-15f;
}

static double rllb_i_held_sum(const rllb_balancer *b, const float *weights, double factor)
{
    double sum = 0;
    int32_t j;

    for (j = 0; j < b->head->used; j++) {
        const rllb_i_server *s = &b->server[j];
        if (s->state != RLLB_SERVER_NONE) sum += (double)rllb_i_hold(b, s, factor * (double)weights[j]);
    }
    return sum;
}

/* The factor that gives the weights a mean of 1 after they were held: the sum grows with it, so halving finds it. */
static double rllb_i_factor(const rllb_balancer *b, const float *weights, double total, int32_t counted)
{
    double factor = counted / total, low, high;
    int32_t i;

    if (fabs(rllb_i_held_sum(b, weights, factor) - counted) < 1e-6 * counted) return factor;
    for (low = factor * 1e-6, high = factor * 1e6, i = 0; i < 60; i++) {
        factor = sqrt(low * high);
        if (rllb_i_held_sum(b, weights, factor) < counted) low = factor;
        else high = factor;
    }
    return factor;
}

/* Takes weights over: as a whole or not at all. */
static rllb_status rllb_i_take_weights(rllb_balancer *b, float *weights, bool smooth)
{
    double total = 0, factor;
    int32_t j, n = b->head->used, counted = 0;
    bool limited = false;

    for (j = 0; j < n; j++) {
        if (!rllb_i_finite((double)weights[j]) || weights[j] < 0) return RLLB_ERROR_NOT_FINITE;
        if (b->server[j].state == RLLB_SERVER_NONE) continue;
        total += (double)weights[j];
        counted++;
    }
    if (!(total > 0)) return RLLB_ERROR_ARGUMENT;
    for (j = 0; smooth && j < n; j++) {
        double newest = (double)weights[j] * counted / total, share = (double)b->desc.smoothing;
        weights[j] = (float)(share * (double)rllb_i_found(b, &b->server[j]) + (1 - share) * newest);
    }
    for (total = 0, j = 0; j < n; j++) total += b->server[j].state != RLLB_SERVER_NONE ? (double)weights[j] : 0;
    factor = rllb_i_factor(b, weights, total, counted);
    for (j = 0; j < n; j++) {
        rllb_i_server *s = &b->server[j];
        double wanted = (double)weights[j] * counted / total;
        if (s->state == RLLB_SERVER_NONE) continue;
        s->found = rllb_i_hold(b, s, factor * (double)weights[j]);
        limited = limited || fabs((double)s->found - wanted) > 1e-4 * wanted;
    }
    if (limited) RLLB_I_TALLY(b, controls_limited);
    return RLLB_OK;
}

/* 0 to 1: has a server changed? Then its last durations differ from those before, by a quarter and more than the other
   servers' do. */
static double rllb_i_changed(const rllb_balancer *b, int32_t j)
{
    const float *x = b->observation + rllb_i_seen[RLLB_FEATURES_RELATIVE].common + RLLB_I_RAW * j;
    double change = (fabs((double)x[RLLB_I_FAST] - (double)x[RLLB_I_SLOW]) - 0.2) / 0.1;

    return change > 1 ? 1 : change > 0 ? change : 0;
}

/* A weight after a step, by as much as was heard of its server since the last: what one average says is not to count
   anew at every tick. What was heard of a server that changed says more than all before, so the step is greater. Who is
   one of many does not see by its own requests how full a server is: it is drawn towards weights of its own, and what
   looks like a change there is chance. A weight close to the configured one is drawn to it: of servers that are alike
   chance would else make some a little heavier, for minutes. What a weight may not be is left for the check to
   refuse. */
static float rllb_i_step(rllb_balancer *b, int32_t j, float factor, double many)
{
    bool relative = b->desc.features == RLLB_FEATURES_RELATIVE;
    rllb_i_server *s = &b->server[j];
    double fresh, w, step, changed = relative ? (1 - many) * rllb_i_changed(b, j) : 0;
    double half = 8 - 6 * changed; /* ends that let half of a step count */
    rllb_i_ends ends;

    rllb_i_ends_of(b, j, &ends);
    fresh = ends.samples > s->stepped ? (double)(ends.samples - s->stepped) : 0;
    s->stepped = ends.samples;
    if (!(factor > 0) || !rllb_i_finite((double)factor)) return factor;
    w = (double)rllb_i_found(b, s);
    if (fresh > 0 && w > 0) {
        double apart = log(w * b->mean_weight / (double)s->weight);
        step = (1 + 3 * changed) * log((double)factor);
        if (relative && b->desc.spread > 0) step += 0.05 * many * ((double)s->apart - log(w));
        if (rllb_i_is_even(b) && fabs(apart) < RLLB_I_SAME) {
            apart /= RLLB_I_SAME;
            step -= 0.4 * RLLB_I_SAME * (1 - many) * (1 - changed) * apart * (1 - apart * apart);
        }
        w *= exp(step * fresh / (fresh + half));
    }
    return w > (double)FLT_MAX ? FLT_MAX : w < (double)FLT_MIN ? FLT_MIN : (float)w; /* then held as any */
}

static rllb_status rllb_i_take_action(rllb_balancer *b, const float *action, int32_t actions, double now_s)
{
    rllb_i_head *h = b->head;
    int32_t n = h->used, wanted = n + (b->desc.control_form ? 3 : 0);
    rllb_status status = action && actions == wanted && n > 0 ? RLLB_OK : RLLB_ERROR_ARGUMENT;
    const float *form = action;
    double many;
    int32_t ejected, counted, j;

    if (status == RLLB_OK && b->desc.control_form) {
        bool ok;
        form = action + n;
        ok = form[0] >= 1 && form[0] <= (float)RLLB_I_DRAWS && form[1] >= 0 && form[1] <= 16;
        if (!ok || !(form[2] >= 0 && form[2] <= 16)) status = RLLB_ERROR_NOT_FINITE;
    }
    if (status == RLLB_OK) {
        rllb_i_judge(b, &ejected, &counted); /* the means of now */
        memmove(b->action, action, (size_t)n * sizeof(float));
        many = rllb_i_many(b);
        for (j = 0; b->desc.control_steps && j < n; j++) {
            b->action[j] = rllb_i_step(b, j, b->action[j], many);
        }
        status = rllb_i_take_weights(b, b->action, true);
    }
    if (status != RLLB_OK) {
        RLLB_I_TALLY(b, controls_refused);
        rllb_log(&b->desc.logger, status, "action");
        return status;
    }
    if (b->desc.control_form) {
        h->d = floorf(form[0] + 0.5f);
        h->a = form[1];
        h->gamma = form[2];
    }
    h->act_s = now_s;
    h->stale = false;
    RLLB_I_TALLY(b, controls);
    return RLLB_OK;
}

/* w <- softmax(-x), x the Kalman estimate of each server's mean duration over the mean of all (HLB). */
static void rllb_i_hlb(rllb_balancer *b)
{
    const float process = 0.01f * 0.01f, sensor = 0.4f * 0.4f;
    int32_t j, n = b->head->used, measured = 0;
    double mean = 0;

    for (j = 0; j < n; j++) {
        if (b->server[j].field < 0) continue;
        mean += (double)b->server[j].duration;
        measured++;
    }
    if (!(mean > 0)) return;
    mean /= measured;
    for (j = 0; j < n; j++) {
        rllb_i_server *s = &b->server[j];
        float gain;
        if (s->field >= 0) {
            s->kalman_variance += process;
            gain = s->kalman_variance / (s->kalman_variance + sensor);
            s->kalman += gain * (s->duration / (float)mean - s->kalman);
            s->kalman_variance *= 1 - gain;
        }
        b->action[j] = expf(-(s->kalman < 80 ? s->kalman : 80));
    }
    rllb_i_take_weights(b, b->action, false);
}

static void rllb_i_equalise(rllb_balancer *b)
{
    int32_t j, n = b->head->used, measured = 0;
    double log_sum = 0;
    float *level = b->costs;

    for (j = 0; j < n; j++) {
        const rllb_i_server *s = &b->server[j];
        level[j] = rllb_i_average_of(b, j);
        if (b->desc.by_stretch) level[j] = s->unloaded > 0 ? level[j] / s->unloaded : 0;
        if (!s->usable || !(level[j] > 0)) level[j] = 0;
        if (!(level[j] > 0)) continue;
        log_sum += log((double)level[j]);
        measured++;
    }
    for (j = 0; j < n; j++) {
        double ratio = level[j] > 0 ? exp(log_sum / measured) / (double)level[j] : 1;
        ratio = ratio > 1.5 ? 1.5 : ratio < 1 / 1.5 ? 1 / 1.5 : ratio; /* else down is faster than up again */
        b->action[j] = rllb_i_found(b, &b->server[j]) * (float)pow(ratio, (double)b->desc.eta);
    }
    if (measured > 1) rllb_i_take_weights(b, b->action, false);
}

static void rllb_i_awcmp(rllb_balancer *b)
{
    float *told = b->costs, greatest = 0;
    int32_t j, w, n = b->head->used, known = 0;
    double room = 0;

    for (j = 0; j < n; j++) { /* the greatest any worker was told: all are told of the same server */
        told[j] = -1;
        for (w = 0; w < b->workers; w++) {
            float u = rllb_i_float_of(RLLB_I_LOAD(&b->cells[(size_t)w * (size_t)b->stride + (size_t)j].utilisation));
            if (u > told[j]) told[j] = u;
        }
        known += told[j] >= 0;
        if (told[j] > greatest) greatest = told[j];
    }
    for (j = 0; j < n; j++) room += told[j] >= 0 ? (double)(greatest - told[j]) : 0;
    if (known < 2 || !(room > 0)) return; /* nobody has more room than another */
    for (j = 0; j < n; j++) {
        float old = rllb_i_found(b, &b->server[j]);
        b->action[j] = told[j] >= 0 ? 0.5f * old + 0.5f * (greatest - told[j]) * (float)(known / room) : old;
    }
    rllb_i_take_weights(b, b->action, false);
}

static void rllb_i_control(rllb_balancer *b, double now_s)
{
    rllb_i_head *h = b->head;
    int32_t actions = h->used + (b->desc.control_form ? 3 : 0), observations;

    switch (b->desc.policy) {
    case RLLB_BALANCE_AWCMP: rllb_i_awcmp(b); return;
    case RLLB_BALANCE_HLB: rllb_i_hlb(b); return;
    case RLLB_BALANCE_EQUALISE:
        if (now_s - h->rule_s < (double)b->desc.equalise_s - 1e-9) return;
        h->rule_s = now_s;
        rllb_i_equalise(b);
        return;
    case RLLB_BALANCE_LEARNED: break;
    default: return;
    }
    if (b->desc.control && h->used > 0) {
        const float *observation = rllb_balancer_observe(b, &observations);
        memset(b->action, 0xff, (size_t)actions * sizeof(float)); /* NaN: what is not written is refused */
        b->desc.control(b->desc.control_self, observation, observations, b->action, actions);
        rllb_i_take_action(b, b->action, actions, now_s);
    }
    if (b->desc.guard.deadline_s < 0 || h->stale || now_s - h->act_s <= (double)b->desc.guard.deadline_s) return;
    h->stale = true;
    RLLB_I_TALLY(b, fallbacks);
    rllb_log(&b->desc.logger, RLLB_ERROR_STATE, "the controller is stale");
}

/* ---- >>keeper ----------------------------------------------------------------------------------------------
   The tick, the guard's verdicts on servers, and what an operator may change. Writes head, servers and what is
   published; reads the workers' counters. */

static void rllb_i_eject(rllb_balancer *b, rllb_i_server *s, double now_s)
{
    const rllb_guard *g = &b->desc.guard;
    double period = (double)(g->eject_s < 0 ? 0 : g->eject_s) * ldexp(1, s->level < 30 ? s->level : 30);

    if (g->eject_longest_s >= 0 && period > (double)g->eject_longest_s) period = (double)g->eject_longest_s;
    if (s->level < 30) s->level++;
    s->state = RLLB_SERVER_EJECTED;
    s->until_s = now_s + period;
    s->probation = false;
    s->ejections++;
    RLLB_I_TALLY(b, ejections);
}

/* Is what ended reason to eject? `failed` is of the interval; a rate takes ten ends, of one or of several. */
static bool rllb_i_is_bad(const rllb_balancer *b, const rllb_i_server *s, uint64_t failed, int32_t streak)
{
    const rllb_guard *g = &b->desc.guard;

    if (!failed) return false;
    if (g->eject_failures >= 0 && ((float)streak >= g->eject_failures || s->probation)) return true;
    if (g->eject_rate < 0 || s->recent_done < 10) return false;
    return (double)s->recent_failed >= (double)g->eject_rate * (double)s->recent_done;
}

/* How long failures took says nothing of a server that is well again: it is worth no less than it was before. */
static void rllb_i_return(rllb_i_server *s, double now_s)
{
    s->state = RLLB_SERVER_UP;
    s->since_s = now_s;
    s->probation = true;
    s->served = 0;
    s->slow = 0;
    if (s->found < s->sound) s->found = s->sound;
}

/* One server's interval: comes back, once a request went well, is ejected, or has been calm. `room`: how many more may
   be ejected. */
static void rllb_i_watch(rllb_balancer *b, int32_t j, const rllb_i_ends *ends, double now_s, int32_t *room)
{
    rllb_i_server *s = &b->server[j];
    uint64_t failed = ends->failed - s->seen_failed, done = ends->done - s->seen_done;
    bool bad, well = ends->samples - s->seen_samples > failed; /* one was cancelled otherwise */

    if (s->state == RLLB_SERVER_EJECTED && now_s >= s->until_s) {
        if (failed) {
            rllb_i_eject(b, s, now_s);
        } else if (well) {
            rllb_i_return(s, now_s);
            (*room)++;
        }
        return;
    }
    if (s->state != RLLB_SERVER_UP) return;
    if (!failed && !s->probation) s->sound = s->found;
    s->recent_done += done;
    s->recent_failed += failed;
    bad = rllb_i_is_bad(b, s, failed, ends->streak);
    if (s->recent_done >= 10) s->recent_done = s->recent_failed = 0;
    if (bad) {
        if (*room > 0) {
            (*room)--;
            rllb_i_eject(b, s, now_s);
        } else {
            RLLB_I_TALLY(b, ejections_spared);
            s->since_s = now_s; /* stays, but begins again at a tenth of its weight */
        }
    }
    if (failed) s->calm_since_s = now_s;
    if (s->level > 0 && now_s - s->calm_since_s >= 60) {
        s->level /= 2;
        s->calm_since_s = now_s;
    }
    if (s->probation && done > failed) {
        s->served += (int32_t)(done - failed < 1000 ? done - failed : 1000);
        if ((float)s->served >= b->desc.guard.eject_failures) s->probation = false;
    }
}

/* Answers how many picks there were. */
static uint64_t rllb_i_watch_one(rllb_balancer *b, int32_t j, double now_s, int32_t *room)
{
    rllb_i_server *s = &b->server[j];
    uint64_t picks;
    rllb_i_ends ends;

    rllb_i_ends_of(b, j, &ends);
    rllb_i_watch(b, j, &ends, now_s, room);
    picks = ends.picks - s->seen_picks;
    if (picks) {
        s->dry_from = -1;
        s->picked_s = now_s;
    }
    s->seen_picks = ends.picks;
    s->seen_done = ends.done;
    s->seen_failed = ends.failed;
    s->seen_samples = ends.samples;
    s->found_at_tick = rllb_i_found(b, s);
    if (!b->desc.slots) s->duration = rllb_i_average_of(b, j);
    return picks;
}

static void rllb_i_watch_all(rllb_balancer *b, double now_s)
{
    rllb_i_head *h = b->head;
    int32_t j, ejected, counted, room;
    uint64_t picks = 0;

    rllb_i_judge(b, &ejected, &counted);
    room = rllb_i_most_ejected(b, counted) - ejected;
    for (j = 0; j < h->used; j++) picks += rllb_i_watch_one(b, j, now_s, &room);
    h->picked += (double)picks;
    for (j = 0; j < h->used; j++) {
        if (b->server[j].dry_from < 0) b->server[j].dry_from = h->picked;
    }
    b->ticked = b->logged;
    b->failed = false;
}

/* The servers that this handle picked or heard of since its last tick, as bits; all, where its log forgot some. */
static void rllb_i_touched(const rllb_balancer *b, uint64_t *words)
{
    uint64_t at = b->ticked;
    int32_t j, used = b->head->used;

    memset(words, 0, (size_t)((b->stride + 63) / 64) * sizeof *words);
    if (b->logged - at <= RLLB_I_LOG) {
        for (; at != b->logged; at++) {
            j = b->log[at % RLLB_I_LOG];
            RLLB_I_PREFETCH(&b->mine[j]);
            RLLB_I_PREFETCH(&b->server[j].state);
            RLLB_I_PREFETCH(&b->server[j].picked_s);
            words[j / 64] |= (uint64_t)(j < used) << (j % 64);
        }
    } else {
        for (j = 0; j < used; j++) words[j / 64] |= (uint64_t)1 << (j % 64);
    }
}

/* For ticks where no other server can have changed. */
static void rllb_i_watch_touched(rllb_balancer *b, double now_s)
{
    uint64_t words[RLLB_BALANCER_SERVERS_MAX / 64], picks = 0, word;
    int32_t i, count = (b->stride + 63) / 64, room = 0;

    rllb_i_touched(b, words);
    for (i = 0; i < count; i++) {
        for (word = words[i]; word; word &= word - 1) {
            picks += rllb_i_watch_one(b, 64 * i + rllb_i_lowest(word), now_s, &room);
        }
    }
    b->head->picked += (double)picks;
    for (i = 0; i < count; i++) {
        for (word = words[i]; word; word &= word - 1) {
            rllb_i_server *s = &b->server[64 * i + rllb_i_lowest(word)];
            if (s->dry_from < 0) s->dry_from = b->head->picked;
        }
    }
    b->ticked = b->logged;
}

/* Policies that count a server not yet measured as the mean of the others, which each publication brings up to date. */
static bool rllb_i_is_timing(rllb_balance policy)
{
    return policy == RLLB_BALANCE_LEAST_TIME || policy == RLLB_BALANCE_PEAK_EWMA || policy == RLLB_BALANCE_C3;
}

/* After a tick: will the next find weights as they are, unless something fails or somebody starves? Nobody is out, on
   trial, or on the way to all its weight, and neither controller nor rule is at work. */
static bool rllb_i_will_be_quiet(const rllb_balancer *b)
{
    const rllb_i_head *h = b->head;
    bool quiet = h->starved == 0 && !b->desc.slots && !rllb_i_finds(b->desc.policy);
    int32_t j;

    for (j = 0; quiet && j < h->used; j++) {
        const rllb_i_server *s = &b->server[j];
        quiet = s->state != RLLB_SERVER_EJECTED && !s->probation && s->level == 0;
        quiet = quiet && (s->state == RLLB_SERVER_NONE || rllb_i_ramp(b, s, h->tick_s) >= 1);
    }
    return quiet;
}

/* A tick of which that was said: no more than the servers in use are looked at. Where others write counters too, they
   all are. */
static bool rllb_i_tick_quietly(rllb_balancer *b, double now_s)
{
    rllb_i_head *h = b->head;

    if (!h->quiet || b->failed || b->workers > 1 || b->keeper_only || rllb_i_is_timing(b->desc.policy)) return false;
    rllb_i_watch_touched(b, now_s);
    h->tick++;
    if (h->picked < h->thirst) return true;
    rllb_i_list_starving(b);
    if (h->starved) rllb_i_publish(b, now_s);
    return true;
}

bool rllb_balancer_tick(rllb_balancer *b, double now_s)
{
    rllb_i_head *h;
    double elapsed;

    if (!b) return false;
    h = b->head;
    if (!(now_s > -RLLB_I_TIME_MAX && now_s < RLLB_I_TIME_MAX) || (h->ticked && now_s < h->tick_s - 60)) {
        RLLB_I_TALLY(b, bad_time);
        if (now_s > -RLLB_I_TIME_MAX && now_s < h->tick_s) h->tick_s = h->act_s = h->rule_s = now_s; /* set back */
        return false;
    }
    if (!h->ticked) h->act_s = h->rule_s = now_s;
    elapsed = h->ticked ? now_s - h->tick_s : (double)b->desc.interval_s;
    if (elapsed < 0) RLLB_I_TALLY(b, bad_time);
    if (elapsed < (double)b->desc.interval_s - 1e-9) return false;
    h->ticked = true;
    h->tick_s = now_s;
    if (rllb_i_tick_quietly(b, now_s)) return true;
    rllb_i_watch_all(b, now_s);
    if (b->desc.slots) {
        if (b->desc.features == RLLB_FEATURES_RELATIVE) rllb_i_observe_relative(b, elapsed);
        else rllb_i_observe_all(b, now_s, elapsed);
        rllb_i_close_interval(b);
        rllb_i_reward_update(b);
    }
    rllb_i_control(b, now_s);
    h->tick++;
    rllb_i_list_starving(b);
    rllb_i_publish(b, now_s);
    h->quiet = rllb_i_will_be_quiet(b);
    return true;
}

const float *rllb_balancer_observe(rllb_balancer *b, int32_t *observations)
{
    int32_t n = 0;
    bool there = b && b->desc.slots > 0;

    if (there) n = b->head->used * rllb_i_seen[b->desc.features].per + rllb_i_seen[b->desc.features].common;
    if (observations) *observations = n;
    return there ? b->observation : NULL;
}

/* Time for what an operator does; none is earlier than the last tick. */
static double rllb_i_keeper_time(rllb_balancer *b, double now_s)
{
    bool good = now_s > -RLLB_I_TIME_MAX && now_s < RLLB_I_TIME_MAX;

    if (good && !(b->head->ticked && now_s < b->head->tick_s)) return now_s;
    RLLB_I_TALLY(b, bad_time);
    return b->head->ticked ? b->head->tick_s : 0;
}

rllb_status rllb_balancer_act(rllb_balancer *b, const float *action, int32_t actions, double now_s)
{
    rllb_status status;

    if (!b || b->desc.policy != RLLB_BALANCE_LEARNED) return RLLB_ERROR_ARGUMENT;
    if (!(now_s > -RLLB_I_TIME_MAX && now_s < RLLB_I_TIME_MAX)) {
        RLLB_I_TALLY(b, bad_time);
        return RLLB_ERROR_NOT_FINITE;
    }
    now_s = rllb_i_keeper_time(b, now_s);
    status = rllb_i_take_action(b, action, actions, now_s);
    if (status == RLLB_OK) rllb_i_publish(b, now_s);
    return status;
}

static rllb_i_server *rllb_i_server_at(rllb_balancer *b, int32_t server)
{
    if (!b) return NULL;
    if (server >= 0 && server < b->head->used && b->server[server].state != RLLB_SERVER_NONE) return &b->server[server];
    RLLB_I_TALLY(b, bad_server);
    return NULL;
}

rllb_status rllb_balancer_add(rllb_balancer *b, const rllb_server_desc *server, double now_s, int32_t *index)
{
    int32_t j;

    if (!b || !server || !index || !rllb_i_weight_ok(server->weight)) return RLLB_ERROR_ARGUMENT;
    for (j = 0; j < b->desc.capacity; j++) {
        if (b->server[j].state == RLLB_SERVER_NONE && rllb_i_flows(b, j) == 0) break;
    }
    if (j == b->desc.capacity) return RLLB_ERROR_LIMIT;
    now_s = rllb_i_keeper_time(b, now_s);
    rllb_i_server_start(b, j, server, now_s);
    b->head->table_stale = true;
    rllb_i_publish(b, now_s);
    *index = j;
    return RLLB_OK;
}

rllb_status rllb_balancer_remove(rllb_balancer *b, int32_t server, double now_s)
{
    rllb_i_server *s = rllb_i_server_at(b, server);

    if (!s) return RLLB_ERROR_ARGUMENT;
    s->state = RLLB_SERVER_NONE;
    s->usable = false;
    b->head->table_stale = true;
    while (b->head->used > 0 && b->server[b->head->used - 1].state == RLLB_SERVER_NONE) b->head->used--;
    rllb_i_publish(b, rllb_i_keeper_time(b, now_s));
    return RLLB_OK;
}

rllb_status rllb_balancer_set_state(rllb_balancer *b, int32_t server, rllb_server_state state, double now_s)
{
    rllb_i_server *s = rllb_i_server_at(b, server);
    bool known = state == RLLB_SERVER_UP || state == RLLB_SERVER_DRAINING || state == RLLB_SERVER_DOWN;

    if (!s || !known) return RLLB_ERROR_ARGUMENT;
    now_s = rllb_i_keeper_time(b, now_s);
    if (state == RLLB_SERVER_UP && s->state == RLLB_SERVER_EJECTED) return RLLB_OK; /* the guard's to decide */
    if (state == RLLB_SERVER_UP && s->state != RLLB_SERVER_UP) s->since_s = now_s;
    s->state = (int32_t)state;
    rllb_i_publish(b, now_s);
    return RLLB_OK;
}

rllb_status rllb_balancer_set_weight(rllb_balancer *b, int32_t server, float weight, double now_s)
{
    rllb_i_server *s = rllb_i_server_at(b, server);

    if (!s || !rllb_i_weight_ok(weight)) return RLLB_ERROR_ARGUMENT;
    s->weight = weight;
    b->head->table_stale = true;
    rllb_i_publish(b, rllb_i_keeper_time(b, now_s));
    return RLLB_OK;
}

rllb_status rllb_balancer_set_trust(rllb_balancer *b, bool shadow, float blend, double now_s)
{
    if (!b || !(blend >= 0 && blend <= 1)) return RLLB_ERROR_ARGUMENT;
    b->head->shadow = shadow;
    b->head->blend = blend;
    b->head->table_stale = true;
    rllb_i_publish(b, rllb_i_keeper_time(b, now_s));
    return RLLB_OK;
}

rllb_status rllb_balancer_resync(rllb_balancer *b, int32_t worker, double now_s)
{
    if (!b || worker < 0 || worker >= b->workers) return RLLB_ERROR_ARGUMENT;
    rllb_i_give_up(b, worker);
    rllb_i_mend(b);
    b->head->table_stale = true;
    rllb_i_publish(b, rllb_i_keeper_time(b, now_s));
    return RLLB_OK;
}

int32_t rllb_balancer_servers(const rllb_balancer *b)
{
    return b ? b->head->used : 0;
}

rllb_status rllb_balancer_server(const rllb_balancer *b, int32_t server, rllb_server_info *out)
{
    const rllb_i_server *s;
    rllb_i_ends ends;
    int32_t w;

    if (!b || !out || server < 0 || server >= b->desc.capacity) return RLLB_ERROR_ARGUMENT;
    memset(out, 0, sizeof *out);
    s = &b->server[server];
    out->in_flight = rllb_i_flows(b, server);
    rllb_i_ends_of(b, server, &ends);
    memcpy(out->name, s->name, sizeof out->name);
    out->state = (rllb_server_state)s->state;
    out->usable = s->usable && server < b->head->used;
    out->weight = s->weight;
    out->weight_in_force = s->in_force;
    out->picks = ends.picks;
    out->done = ends.done;
    out->failed = ends.failed;
    out->lost = ends.lost;
    out->samples = ends.samples;
    out->ejections = s->ejections;
    for (w = 0; w < b->workers; w++) {
        const rllb_i_cell *cell = &b->cells[(size_t)w * (size_t)b->stride + (size_t)server];
        out->duration_sum_s += rllb_i_load_double(&cell->duration_sum);
    }
    out->duration_s = s->duration;
    out->unloaded_s = s->unloaded;
    return RLLB_OK;
}

void rllb_balancer_counters(const rllb_balancer *b, rllb_counters *out)
{
    size_t cell, cells;
    int32_t lane;

    if (!out) return;
    memset(out, 0, sizeof *out);
    if (!b) return;
    for (lane = 0; lane <= b->workers; lane++) {
        const uint64_t *scalars = b->scalars + (size_t)lane * RLLB_I_SCALARS;
#define RLLB_I_COUNTER_SUM(name, words) out->name += RLLB_I_LOAD(&scalars[RLLB_I_COUNT_##name]);
        RLLB_COUNTER_LIST(RLLB_I_COUNTER_SUM)
#undef RLLB_I_COUNTER_SUM
    }
    cells = (size_t)b->workers * (size_t)b->stride;
    for (cell = 0; cell < cells; cell++) out->lost += RLLB_I_LOAD(&b->cells[cell].lost);
}

/* ---- >>metrics ---------------------------------------------------------------------------------------------
   What the balancer tells of itself, as text. Stands on its public functions only. Writes its numbers itself, because
   printf follows the locale. */

typedef struct rllb_i_teller {
    bool influx;
    double now_s;
    char *text;
    size_t size, used;             /* used: bytes so far, whether they fitted or not */
    size_t whole;                  /* where the last line ends that fitted, room for the 0 after it included */
    const char *balancer, *server; /* whose figures; server NULL: the balancer's own */
    int32_t index;                 /* of the server */
    int32_t figure, wanted;        /* the next figure; Prometheus: the one whose family is being written ... */
    bool headed;                   /* ... and whether its head is */
} rllb_i_teller;

static void rllb_i_tell_byte(rllb_i_teller *t, char c)
{
    if (t->used < t->size) t->text[t->used] = c;
    t->used++;
    if (c == '\n' && t->used < t->size) t->whole = t->used;
}

static void rllb_i_tell_text(rllb_i_teller *t, const char *a, const char *b, const char *c)
{
    while (*a) rllb_i_tell_byte(t, *a++);
    while (*b) rllb_i_tell_byte(t, *b++);
    while (*c) rllb_i_tell_byte(t, *c++);
}

static void rllb_i_put_whole(rllb_i_teller *t, int64_t v)
{
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char digit[20];
    int32_t n = 0;

    if (v < 0) rllb_i_tell_byte(t, '-');
    do digit[n++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (n > 0) rllb_i_tell_byte(t, digit[--n]);
}

/* Rounded to so many digits, an integer times 10^-places: 9 tell a float from its neighbours, 15 a double is good for.
   Written with a point unless it is far from 1. */
static void rllb_i_put_real(rllb_i_teller *t, double v, int32_t digits)
{
    double size = fabs(v);
    int32_t power = size > 0 && rllb_i_finite(v) ? (int32_t)floor(log10(size)) : 0, places = digits - 1 - power;
    int64_t rest, unit = 1, i;
    bool far;

    if (!rllb_i_finite(v)) {
        rllb_i_tell_text(t, size > 0 ? (v < 0 ? "-Inf" : "+Inf") : "NaN", "", "");
        return;
    }
    if (v < 0) rllb_i_tell_byte(t, '-');
    if (places > 300) size *= 1e300; /* 10^places may be no double */
    size = places < 0 ? size / pow(10, -places) : size * pow(10, places > 300 ? places - 300 : places);
    for (rest = (int64_t)(size + 0.5); places > 0 && rest % 10 == 0; places--) rest /= 10;
    far = places < 0 || places > 17;
    for (i = 0; i < places && !far; i++) unit *= 10;
    rllb_i_put_whole(t, rest / unit);
    if (far) {
        rllb_i_tell_byte(t, 'e');
        rllb_i_put_whole(t, -places);
    }
    if (unit > 1) rllb_i_tell_byte(t, '.');
    for (unit /= 10; unit > 0; unit /= 10) rllb_i_tell_byte(t, (char)('0' + rest / unit % 10));
}

/* Bytes of the UTF-8 character that text begins with, 0 if it is none. */
static int32_t rllb_i_utf8(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    int32_t n = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0, i;

    for (i = 1; i < n; i++) {
        if ((c[i] & 0xc0) != 0x80) return 0;
    }
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90)) return 0; /* longer than need be */
    return (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf4 && c[1] > 0x8f) ? 0 : n; /* a surrogate, out of range */
}

/* '_' stands for what would spoil more than the name: a byte that is no UTF-8 (a name cut inside a character), for
   which Prometheus refuses the whole page; a control character; and in line protocol nothing at all, which it forbids,
   and a backslash, of which each reader makes something else. */
static void rllb_i_put_name(rllb_i_teller *t, const char *name)
{
    int32_t bytes, i;

    if (!*name) rllb_i_tell_byte(t, '_');
    for (; *name; name += bytes ? bytes : 1) {
        bytes = rllb_i_utf8(name);
        if (*name == '\n' && !t->influx) rllb_i_tell_text(t, "\\n", "", "");
        else if (!bytes || (unsigned char)*name < ' ' || *name == 127 || (*name == '\\' && t->influx)) {
            rllb_i_tell_byte(t, '_');
        } else {
            if (strchr(t->influx ? ", =" : "\\\"", *name)) rllb_i_tell_byte(t, '\\');
            for (i = 0; i < bytes; i++) rllb_i_tell_byte(t, name[i]);
        }
    }
}

static void rllb_i_put_who(rllb_i_teller *t)
{
    rllb_i_tell_text(t, t->influx ? ",balancer=" : "{balancer=\"", "", "");
    rllb_i_put_name(t, t->balancer);
    if (!t->server) return;
    rllb_i_tell_text(t, t->influx ? "" : "\"", ",index=", t->influx ? "" : "\"");
    rllb_i_put_whole(t, t->index);
    rllb_i_tell_text(t, t->influx ? "" : "\"", ",server=", t->influx ? "" : "\"");
    rllb_i_put_name(t, t->server);
}

/* All that stands before a value. The figures of a server are one line of line protocol, but a figure of all servers is
   one family of Prometheus: there it answers false for the figures whose turn it is not. The index keeps apart servers
   whose names are alike, as long ones are that were cut. */
static bool rllb_i_tell(rllb_i_teller *t, const char *type, const char *figure, const char *words)
{
    const char *scope = t->server ? "rllb_server_" : "rllb_balancer_";
    int32_t number = t->figure++;

    if (t->influx) rllb_i_tell_text(t, number ? "," : " ", figure, "=");
    if (t->influx || number != t->wanted) return t->influx;
    if (!t->headed) {
        t->headed = true;
        rllb_i_tell_text(t, "# HELP ", scope, figure);
        rllb_i_tell_text(t, " ", words, "\n# TYPE ");
        rllb_i_tell_text(t, scope, figure, " ");
        rllb_i_tell_text(t, type, "\n", "");
    }
    rllb_i_tell_text(t, scope, figure, "");
    rllb_i_put_who(t);
    return true;
}

static void rllb_i_tell_whole(rllb_i_teller *t, const char *type, const char *figure, int64_t v, const char *words)
{
    if (!rllb_i_tell(t, type, figure, words)) return;
    if (!t->influx) rllb_i_tell_text(t, "\"} ", "", "");
    rllb_i_put_whole(t, v);
    rllb_i_tell_byte(t, t->influx ? 'i' : '\n');
}

/* Line protocol cannot say that a number is not finite. */
static void rllb_i_tell_real(rllb_i_teller *t, const char *type, const char *figure, double v, int32_t digits,
                             const char *words)
{
    if ((t->influx && !rllb_i_finite(v)) || !rllb_i_tell(t, type, figure, words)) return;
    if (!t->influx) rllb_i_tell_text(t, "\"} ", "", "");
    rllb_i_put_real(t, v, digits);
    if (!t->influx) rllb_i_tell_byte(t, '\n');
}

/* Prometheus knows numbers only: one for each state, 1 for the one that is. */
static void rllb_i_tell_state(rllb_i_teller *t, rllb_server_state state)
{
    static const char *const name[RLLB_SERVER_STATE_NUM] = { "none", "up", "draining", "down", "ejected" };
    int32_t i, figure = t->figure;

    for (i = RLLB_SERVER_UP; i < RLLB_SERVER_STATE_NUM; i++) {
        bool is = i == (int32_t)state;
        t->figure = figure;
        if ((t->influx && !is) || !rllb_i_tell(t, "gauge", "state", "1 for the state that the server is in")) continue;
        if (t->influx) rllb_i_tell_text(t, "\"", name[i], "\"");
        else rllb_i_tell_text(t, "\",state=\"", name[i], is ? "\"} 1\n" : "\"} 0\n");
    }
}

static void rllb_i_tell_server(rllb_i_teller *t, const rllb_server_info *info)
{
#define RLLB_I_COUNT(field, words) rllb_i_tell_whole(t, "counter", #field "_total", (int64_t)info->field, words);
    RLLB_I_COUNT(picks, "requests sent to the server")
    RLLB_I_COUNT(done, "requests that ended")
    RLLB_I_COUNT(failed, "requests that ended by the server's fault")
    RLLB_I_COUNT(lost, "requests in flight that dead workers left")
    RLLB_I_COUNT(samples, "requests whose duration was taken")
    RLLB_I_COUNT(ejections, "times the server was ejected")
#undef RLLB_I_COUNT
    rllb_i_tell_real(t, "counter", "duration_seconds_total", info->duration_sum_s, 15,
                     "durations added up, of the requests that ended and gave a sample");
    rllb_i_tell_real(t, "gauge", "recent_duration_seconds", (double)info->duration_s, 9, "mean duration of late");
    rllb_i_tell_real(t, "gauge", "unloaded_duration_seconds", (double)info->unloaded_s, 9,
                     "low quantile of the durations, over a long memory");
    rllb_i_tell_whole(t, "gauge", "in_flight", info->in_flight, "requests sent that have not ended");
    rllb_i_tell_real(t, "gauge", "weight", (double)info->weight, 9, "weight as configured");
    rllb_i_tell_real(t, "gauge", "weight_in_force", (double)info->weight_in_force, 9,
                     "weight that picks use, over the mean of the usable servers");
    rllb_i_tell_whole(t, "gauge", "usable", info->usable, "1 if the server may be picked");
    rllb_i_tell_state(t, info->state);
}

static void rllb_i_tell_balancer(rllb_i_teller *t, const rllb_balancer *b)
{
    rllb_counters counters;

    rllb_balancer_counters(b, &counters);
#define RLLB_I_COUNT(name, words) rllb_i_tell_whole(t, "counter", #name "_total", (int64_t)counters.name, words);
    RLLB_COUNTER_LIST(RLLB_I_COUNT)
#undef RLLB_I_COUNT
    rllb_i_tell_real(t, "gauge", "reward", rllb_balancer_reward(b), 15, "what the last interval was worth");
}

/* A line of line protocol is closed by its time in nanoseconds; int64_t holds those until 2262. */
static void rllb_i_put_stamp(rllb_i_teller *t)
{
    double second = floor(t->now_s);

    if (fabs(second) < 9.2e9) {
        rllb_i_tell_byte(t, ' ');
        rllb_i_put_whole(t, (int64_t)second * 1000000000 + (int64_t)((t->now_s - second) * 1e9 + 0.5));
    }
    rllb_i_tell_byte(t, '\n');
}

/* Servers first ... end - 1; -1 is the balancer itself. */
static void rllb_i_tell_all(rllb_i_teller *t, const rllb_balancer *b, int32_t first, int32_t end)
{
    rllb_server_info info;
    int32_t i;

    t->wanted = 0;
    do {
        t->headed = false;
        t->figure = 0;
        for (i = first; i < end; i++) {
            if (i >= 0 && rllb_balancer_server(b, i, &info) != RLLB_OK) continue;
            if (i >= 0 && info.state == RLLB_SERVER_NONE) continue;
            t->index = i;
            t->server = i >= 0 ? info.name : NULL;
            t->figure = 0;
            if (t->influx) {
                rllb_i_tell_text(t, i >= 0 ? "rllb_server" : "rllb_balancer", "", "");
                rllb_i_put_who(t);
            }
            if (i >= 0) rllb_i_tell_server(t, &info);
            else rllb_i_tell_balancer(t, b);
            if (t->influx) rllb_i_put_stamp(t);
        }
    } while (!t->influx && ++t->wanted < t->figure);
}

size_t rllb_balancer_metrics(const rllb_balancer *b, rllb_metrics_format format, double now_s, char *text, size_t size)
{
    rllb_balancer_desc resolved;
    rllb_i_teller t;

    memset(&t, 0, sizeof t);
    t.text = text;
    t.size = text ? size : 0;
    if (t.size) text[0] = 0;
    if (!b || (format != RLLB_METRICS_PROMETHEUS && format != RLLB_METRICS_INFLUX)) return 0;
    rllb_balancer_query(b, &resolved);
    t.influx = format == RLLB_METRICS_INFLUX;
    t.now_s = now_s;
    t.balancer = resolved.name;
    rllb_i_tell_all(&t, b, -1, 0);
    rllb_i_tell_all(&t, b, 0, rllb_balancer_servers(b));
    if (t.size) text[t.whole] = 0;
    return t.used + 1;
}

/* ---- >>qlearn ----------------------------------------------------------------------------------------------
   One object: the table, the state encoder with what it last heard of each server, the counts. A dense table has a row
   for every state, in order. A hashed one has buckets of eight; the high bits of a state's hash say which, so that the
   order of buckets is the order of hashes, whatever the size. A state is looked for in its bucket alone: one cache line
   of keys. Nothing is ever taken out; in a full bucket a new state takes the row of the one updated least recently. A
   step carries its state and not a place in the table, so rows may change hands while requests are in flight. */

enum {
    RLLB_I_Q_BUCKET = 8,
    RLLB_I_Q_ENTRIES = 65536,
    RLLB_I_Q_HEAD = 144, /* bytes of a saved table before its rows ... */
    RLLB_I_Q_TAIL = 8,   /* ... and after them */
    RLLB_I_Q_VERSION = 1
};
#define RLLB_I_Q_REWARD_MAX 1e12f /* either way, initial values too; values then stay far from the end of floats */
#define RLLB_I_Q_VALUE_MAX 1e30f  /* what a saved table may hold */
#define RLLB_I_Q_STATES_MAX ((uint64_t)1 << 62)

typedef struct rllb_i_q_row {
    uint32_t seen, visits; /* the low bits of the update that was the last here; how many: 0: none */
} rllb_i_q_row;

struct rllb_qlearn {
    rllb_qlearn_desc desc; /* resolved */
    rllb_qlearn_info info;
    uint64_t state, usable; /* at hand; a bit for each server that was usable at the last choice */
    uint64_t encoder;       /* hash of what metrics mean; 0: states of the user's own */
    int32_t shift;          /* from hash to bucket */
    int32_t *level;         /* [servers] */
    uint64_t *unit;         /* [servers] what a level counts in the state */
    uint64_t *key;          /* [capacity] hashed: state + 1; 0: free */
    rllb_i_q_row *row;      /* [capacity] */
    float *value;           /* [capacity][servers] */
    rllb_rng rng, rng_at_start;
    void *block; /* what create allocated, NULL if the memory is the caller's */
};

static rllb_qlearn *rllb_i_q_layout(const rllb_qlearn_desc *d, const rllb_qlearn_info *plan, rllb_carver *c)
{
    rllb_qlearn *q = (rllb_qlearn *)rllb_carve(c, 1, sizeof *q);
    size_t servers = (size_t)d->servers, rows = (size_t)plan->capacity;
    int32_t *level = (int32_t *)rllb_carve(c, servers, sizeof *level);
    uint64_t *unit = (uint64_t *)rllb_carve(c, servers, sizeof *unit);
    uint64_t *key = (uint64_t *)rllb_carve(c, plan->dense ? 0 : rows, sizeof *key);
    rllb_i_q_row *row = (rllb_i_q_row *)rllb_carve(c, rows, sizeof *row);
    float *value = (float *)rllb_carve(c, rows, servers * sizeof *value);
    if (q) {
        q->level = level;
        q->unit = unit;
        q->key = key;
        q->row = row;
        q->value = value;
    }
    return q;
}

static bool rllb_i_q_metric_ok(const rllb_qlearn_metric *m)
{
    int32_t k;

    if (m->thresholds < 1 || m->thresholds > RLLB_QLEARN_THRESHOLDS_MAX) return false;
    for (k = 0; k < m->thresholds; k++) {
        if (!rllb_i_finite((double)m->threshold[k])) return false;
        if (k && m->threshold[k] <= m->threshold[k - 1]) return false;
    }
    return true;
}

/* Metrics as published, unless there are others. */
static void rllb_i_q_default_metrics(rllb_qlearn_desc *d)
{
    static const float published[3][2] = { { 50, 80 }, { 5, 10 }, { 100, 200 } };
    int32_t m;

    if (d->metrics || d->states) return;
    d->metrics = 3;
    for (m = 0; m < 3; m++) {
        memcpy(d->metric[m].threshold, published[m], sizeof published[m]);
        d->metric[m].thresholds = 2;
    }
}

/* How many levels a server has; 0: the metrics are wrong. */
static int32_t rllb_i_q_levels(const rllb_qlearn_desc *d)
{
    int32_t m, levels = 1;

    if (d->metrics < 1 || d->metrics > RLLB_QLEARN_METRICS_MAX) return 0;
    for (m = 0; m < d->metrics; m++) {
        int32_t own = d->metric[m].thresholds + 1;
        if (!rllb_i_q_metric_ok(&d->metric[m])) return 0;
        if (d->each) levels *= own; /* at most 8^8 */
        else if (own > levels) levels = own;
    }
    return levels;
}

/* How many states there are, and what kind of table that takes. */
static rllb_status rllb_i_q_plan(const rllb_qlearn_desc *d, rllb_qlearn_info *plan)
{
    uint64_t servers = (uint64_t)d->servers;
    int32_t i;

    memset(plan, 0, sizeof *plan);
    plan->states = d->states ? d->states : 1;
    if (d->states > RLLB_I_Q_STATES_MAX) return RLLB_ERROR_LIMIT;
    if (!d->states) {
        plan->levels = rllb_i_q_levels(d);
        if (plan->levels < 1) return RLLB_ERROR_ARGUMENT;
        for (i = 0; i < d->servers; i++) {
            if (plan->states > RLLB_I_Q_STATES_MAX / (uint64_t)plan->levels) return RLLB_ERROR_LIMIT;
            plan->states *= (uint64_t)plan->levels;
        }
    }
    plan->dense = !d->entries && plan->states <= RLLB_QLEARN_DENSE_MAX / servers;
    plan->capacity = plan->dense ? plan->states : 2 * RLLB_I_Q_BUCKET;
    while (!plan->dense && plan->capacity < (uint64_t)(d->entries ? d->entries : RLLB_I_Q_ENTRIES)) plan->capacity *= 2;
    return RLLB_OK;
}

static rllb_status rllb_i_q_resolve(const rllb_qlearn_desc *desc, rllb_qlearn_desc *d, rllb_qlearn_info *plan)
{
    if (!desc) return RLLB_ERROR_ARGUMENT;
    *d = *desc;
    if (d->alpha == 0) d->alpha = 0.1f;
    if (d->gamma == 0) d->gamma = 0.9f;
    if (d->epsilon == 0) d->epsilon = 0.1f;
    if (d->epsilon_min == 0) d->epsilon_min = 0.01f;
    if (d->gamma < 0) d->gamma = 0;
    if (d->epsilon < 0) d->epsilon = 0;
    if (d->epsilon_min < 0) d->epsilon_min = 0;
    if (d->decay == 0) d->decay = 0.995f;
    if (d->episode == 0) d->episode = 10;
    if (d->cost_per_ms == 0) d->cost_per_ms = 0.1f;
    if (d->failure_cost == 0) d->failure_cost = 1000;
    rllb_i_q_default_metrics(d);
    if (d->servers < 1 || d->servers > RLLB_QLEARN_SERVERS_MAX || d->episode < 1) return RLLB_ERROR_ARGUMENT;
    if (d->entries < 0 || d->entries > RLLB_QLEARN_ENTRIES_MAX) return RLLB_ERROR_ARGUMENT;
    if (!(d->alpha > 0 && d->alpha <= 1) || !(d->gamma < 1)) return RLLB_ERROR_ARGUMENT;
    if (!(d->epsilon <= 1) || !(d->epsilon_min <= 1)) return RLLB_ERROR_ARGUMENT;
    if (!(d->decay > 0 && d->decay <= 1)) return RLLB_ERROR_ARGUMENT;
    if (!(d->initial <= RLLB_I_Q_REWARD_MAX && d->initial >= -RLLB_I_Q_REWARD_MAX)) return RLLB_ERROR_ARGUMENT;
    if (!(d->cost_per_ms > 0 && d->cost_per_ms <= RLLB_I_Q_REWARD_MAX)) return RLLB_ERROR_ARGUMENT;
    if (!(d->failure_cost > 0 && d->failure_cost <= RLLB_I_Q_REWARD_MAX)) return RLLB_ERROR_ARGUMENT;
    return rllb_i_q_plan(d, plan);
}

void rllb_qlearn_desc_default(rllb_qlearn_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_qlearn_size(const rllb_qlearn_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_qlearn_desc d;
    rllb_qlearn_info plan;

    if (rllb_i_q_resolve(desc, &d, &plan) != RLLB_OK) return 0;
    rllb_i_q_layout(&d, &plan, &c);
    return rllb_carver_size(&c);
}

/* Fowler, Noll and Vo's hash, 1a: goes on from `hash`. */
static uint64_t rllb_i_q_fnv(uint64_t hash, const unsigned char *bytes, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}
#define RLLB_I_Q_FNV 0xcbf29ce484222325u

/* Little-endian, whatever the machine. */
static void rllb_i_q_put(unsigned char *at, uint64_t v, int32_t bytes)
{
    int32_t i;

    for (i = 0; i < bytes; i++) at[i] = (unsigned char)(v >> (8 * i) & 255);
}

static uint64_t rllb_i_q_get(const unsigned char *at, int32_t bytes)
{
    uint64_t v = 0;
    int32_t i;

    for (i = 0; i < bytes; i++) v |= (uint64_t)at[i] << (8 * i);
    return v;
}

static void rllb_i_q_put_float(unsigned char *at, float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    rllb_i_q_put(at, bits, 4);
}

static float rllb_i_q_get_float(const unsigned char *at)
{
    uint32_t bits = (uint32_t)rllb_i_q_get(at, 4);
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The same levels from the same metrics: the same number. */
static uint64_t rllb_i_q_encoder(const rllb_qlearn_desc *d)
{
    unsigned char word[4];
    uint64_t hash = RLLB_I_Q_FNV;
    int32_t m, k;

    if (d->states) return 0;
    rllb_i_q_put(word, d->each, 4);
    hash = rllb_i_q_fnv(hash, word, 4);
    for (m = 0; m < d->metrics; m++) {
        rllb_i_q_put(word, (uint64_t)d->metric[m].thresholds, 4);
        hash = rllb_i_q_fnv(hash, word, 4);
        for (k = 0; k < d->metric[m].thresholds; k++) {
            rllb_i_q_put_float(word, d->metric[m].threshold[k] + 0.0f); /* no negative zero */
            hash = rllb_i_q_fnv(hash, word, 4);
        }
    }
    return hash;
}

/* Nothing learned. What a hashed table's rows hold counts only once they are claimed. */
static void rllb_i_q_clear(rllb_qlearn *q)
{
    size_t i, rows = (size_t)q->info.capacity, values = q->info.dense ? rows * (size_t)q->desc.servers : 0;

    memset(q->row, 0, rows * sizeof *q->row);
    if (!q->info.dense) memset(q->key, 0, rows * sizeof *q->key);
    for (i = 0; i < values; i++) q->value[i] = q->desc.initial;
    q->info.rows = 0;
}

rllb_status rllb_qlearn_init(const rllb_qlearn_desc *desc, void *mem, size_t size, rllb_qlearn **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_qlearn_desc d;
    rllb_qlearn_info plan;
    rllb_qlearn *q;
    rllb_status status = rllb_i_q_resolve(desc, &d, &plan);
    uint64_t unit = 1, buckets;
    int32_t i;

    if (!out || status != RLLB_OK) return out ? status : RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&c, mem, size, rllb_qlearn_size(desc));
    if (status != RLLB_OK) return status;
    q = rllb_i_q_layout(&d, &plan, &c);
    q->desc = d;
    if (!plan.dense) q->desc.entries = (int32_t)plan.capacity;
    q->info = plan;
    q->encoder = rllb_i_q_encoder(&d);
    for (i = 0; i < d.servers; i++) {
        q->unit[i] = unit;
        unit *= (uint64_t)(plan.levels ? plan.levels : 1);
    }
    for (q->shift = 64, buckets = plan.capacity / RLLB_I_Q_BUCKET; buckets > 1; buckets /= 2) q->shift--;
    rllb_rng_init(&q->rng_at_start, d.seed, d.stream);
    rllb_qlearn_reset(q);
    *out = q;
    return RLLB_OK;
}

rllb_qlearn *rllb_qlearn_create(const rllb_qlearn_desc *desc)
{
    size_t size = rllb_qlearn_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_qlearn *q = NULL;

    if (block && rllb_qlearn_init(desc, block, size, &q) == RLLB_OK) {
        q->block = block;
        return q;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_qlearn_destroy(rllb_qlearn *q)
{
    if (q) rllb_block_free(q->block);
}

static uint64_t rllb_i_q_all(const rllb_qlearn *q)
{
    return ~(uint64_t)0 >> (64 - q->desc.servers);
}

void rllb_qlearn_reset(rllb_qlearn *q)
{
    rllb_qlearn_info plan = q->info;

    memset(&q->info, 0, sizeof q->info);
    q->info.states = plan.states;
    q->info.capacity = plan.capacity;
    q->info.dense = plan.dense;
    q->info.levels = plan.levels;
    q->info.epsilon = (double)q->desc.epsilon;
    q->rng = q->rng_at_start;
    q->state = 0;
    q->usable = rllb_i_q_all(q);
    memset(q->level, 0, (size_t)q->desc.servers * sizeof *q->level);
    rllb_i_q_clear(q);
}

/* NaN reaches no threshold. */
static int32_t rllb_i_q_level(const rllb_qlearn_desc *d, const float *metrics)
{
    int32_t m, k, level = 0, unit = 1;

    for (m = 0; m < d->metrics; m++) {
        const rllb_qlearn_metric *of = &d->metric[m];
        int32_t reached = 0;
        for (k = 0; k < of->thresholds; k++) reached += metrics[m] >= of->threshold[k];
        if (d->each) {
            level += reached * unit;
            unit *= of->thresholds + 1;
        } else if (reached > level) {
            level = reached;
        }
    }
    return level;
}

rllb_status rllb_qlearn_observe(rllb_qlearn *q, int32_t server, const float *metrics)
{
    int32_t level;

    if (!q || !metrics || server < 0 || server >= q->desc.servers) return RLLB_ERROR_ARGUMENT;
    if (q->desc.states) return RLLB_ERROR_STATE;
    level = rllb_i_q_level(&q->desc, metrics);
    q->state += q->unit[server] * (uint64_t)level - q->unit[server] * (uint64_t)q->level[server];
    q->level[server] = level;
    return RLLB_OK;
}

rllb_status rllb_qlearn_set_state(rllb_qlearn *q, uint64_t state)
{
    if (!q || state >= q->info.states) return RLLB_ERROR_ARGUMENT;
    if (!q->desc.states) return RLLB_ERROR_STATE;
    q->state = state;
    return RLLB_OK;
}

uint64_t rllb_qlearn_state(const rllb_qlearn *q)
{
    return q ? q->state : 0;
}

int32_t rllb_qlearn_level(const rllb_qlearn *q, int32_t server)
{
    return q && server >= 0 && server < q->desc.servers && !q->desc.states ? q->level[server] : -1;
}

static uint64_t rllb_i_q_hash(uint64_t state)
{
    return rllb_i_splitmix64(&state); /* one to one */
}

/* Where the values of a state are, or -1. A dense table has them all. */
static int64_t rllb_i_q_find(const rllb_qlearn *q, uint64_t state)
{
    const uint64_t *key;
    int64_t first, i;

    if (q->info.dense) return (int64_t)state;
    first = (int64_t)(rllb_i_q_hash(state) >> q->shift) * RLLB_I_Q_BUCKET;
    key = q->key + first;
    for (i = 0; i < RLLB_I_Q_BUCKET; i++) { /* left early: the guess lets the row be fetched beside the keys */
        if (key[i] == state + 1) return first + i;
    }
    return -1;
}

/* A row for a state that a hashed table does not know: a free one, or the one updated least recently. */
static int64_t rllb_i_q_claim(rllb_qlearn *q, uint64_t state)
{
    int64_t first = (int64_t)(rllb_i_q_hash(state) >> q->shift) * RLLB_I_Q_BUCKET, i, at = first;
    uint32_t now = (uint32_t)q->info.updates, oldest = 0;
    int32_t k;

    for (i = first; i < first + RLLB_I_Q_BUCKET && q->key[at]; i++) {
        uint32_t age = now - q->row[i].seen;
        if (!q->key[i] || age > oldest) {
            at = i;
            oldest = age;
        }
    }
    if (q->key[at]) q->info.replaced++;
    else q->info.rows++;
    q->key[at] = state + 1;
    q->row[at].visits = 0;
    for (k = 0; k < q->desc.servers; k++) q->value[at * q->desc.servers + k] = q->desc.initial;
    return at;
}

/* The k-th set bit, from 0; there are more than k. */
static int32_t rllb_i_q_bit(uint64_t mask, int32_t k)
{
    for (; k > 0; k--) mask &= mask - 1;
    return rllb_i_lowest(mask);
}

static int32_t rllb_i_q_any(rllb_qlearn *q, uint64_t mask)
{
    int32_t count = 0;
    uint64_t rest = mask;

    for (; rest; rest &= rest - 1) count++;
    return rllb_i_q_bit(mask, rllb_rng_below(&q->rng, count));
}

/* Those of the mask with the most `sign` times a value; these are numbers, so that at least one is left. Which one is
   best is chance to a processor: nothing here branches on it. */
static uint64_t rllb_i_q_most(const float *value, float sign, uint64_t mask, int32_t n)
{
    float most = -INFINITY;
    uint64_t ties = 0;
    int32_t i;

    for (i = 0; i < n; i++) {
        float v = mask >> i & 1 ? sign * value[i] : -INFINITY;
        most = v > most ? v : most;
    }
    for (i = 0; i < n; i++) ties |= (uint64_t)(sign * value[i] >= most) << i;
    return ties & mask;
}

/* None of the table's servers is usable: the cheapest of the others, or none. */
static int32_t rllb_i_q_outside(rllb_qlearn *q, const float *cost, int32_t n)
{
    int32_t i, best = -1;

    for (i = q->desc.servers; cost && i < n; i++) {
        if (cost[i] < (best < 0 ? INFINITY : cost[best])) best = i;
    }
    if (best < 0) q->info.no_server++;
    return best;
}

int32_t rllb_qlearn_choose(void *self, const float *cost, int32_t n)
{
    rllb_qlearn *q = (rllb_qlearn *)self;
    int32_t i, known;
    uint64_t usable = 0;
    int64_t row;

    if (!q) return -1;
    known = n < q->desc.servers ? n : q->desc.servers;
    for (i = 0; i < known; i++) usable |= (uint64_t)(!cost || (cost[i] < INFINITY && cost[i] > -INFINITY)) << i;
    q->info.choices++;
    if (!usable) return rllb_i_q_outside(q, cost, n);
    q->usable = usable;
    if (q->info.epsilon > 0 && rllb_rng_double(&q->rng) < q->info.epsilon) {
        q->info.explored++;
        return rllb_i_q_any(q, usable);
    }
    row = rllb_i_q_find(q, q->state);
    if (row < 0 || (q->info.dense && !q->row[row].visits)) q->info.unseen++; /* a hashed row is there since a visit */
    if (row >= 0) usable = rllb_i_q_most(q->value + row * q->desc.servers, 1, usable, known);
    if (cost && q->desc.ties_by_cost && (usable & (usable - 1))) usable = rllb_i_q_most(cost, -1, usable, known);
    return usable & (usable - 1) ? rllb_i_q_any(q, usable) : rllb_i_q_bit(usable, 0);
}

rllb_qlearn_step rllb_qlearn_begin(const rllb_qlearn *q, int32_t server)
{
    rllb_qlearn_step step;

    step.state = q ? q->state : 0;
    step.action = q && server >= 0 && server < q->desc.servers ? server : -1;
    return step;
}

float rllb_qlearn_reward(const rllb_qlearn *q, double elapsed_s, rllb_outcome outcome)
{
    if (q && outcome == RLLB_OUTCOME_FAILED) return -q->desc.failure_cost;
    if (!q || outcome != RLLB_OUTCOME_OK || !(elapsed_s >= 0)) return NAN;
    return (float)(-(double)q->desc.cost_per_ms * 1000 * elapsed_s);
}

rllb_status rllb_qlearn_done(rllb_qlearn *q, const rllb_qlearn_step *step, double elapsed_s, rllb_outcome outcome)
{
    if (!q) return RLLB_ERROR_ARGUMENT;
    if (outcome == RLLB_OUTCOME_CANCELLED) return RLLB_OK;
    return rllb_qlearn_update(q, step, rllb_qlearn_reward(q, elapsed_s, outcome), q->state);
}

/* The best that a state promises to the servers that can be had. */
static float rllb_i_q_best(const rllb_qlearn *q, uint64_t state)
{
    int64_t row = rllb_i_q_find(q, state);
    const float *value = q->value;
    float best = -INFINITY;
    int32_t i;

    if (row < 0) return q->desc.initial;
    value += row * q->desc.servers;
    for (i = 0; i < q->desc.servers; i++) {
        float v = q->usable >> i & 1 ? value[i] : -INFINITY;
        best = v > best ? v : best;
    }
    return best;
}

rllb_status rllb_qlearn_update(rllb_qlearn *q, const rllb_qlearn_step *step, float reward, uint64_t next)
{
    double target;
    float *value, error;
    int64_t row;

    if (!q) return RLLB_ERROR_ARGUMENT;
    if (!step || step->action < 0 || step->action >= q->desc.servers || step->state >= q->info.states ||
        next >= q->info.states || !(reward >= -RLLB_I_Q_REWARD_MAX && reward <= RLLB_I_Q_REWARD_MAX)) {
        q->info.refused++;
        return RLLB_ERROR_ARGUMENT;
    }
    /* Products of two floats are exact in a double, so the same bits come out whether or not they are fused. */
    target = (double)reward + (double)q->desc.gamma * (double)rllb_i_q_best(q, next); /* before a row is replaced */
    row = rllb_i_q_find(q, step->state);
    if (row < 0) row = rllb_i_q_claim(q, step->state);
    else if (!q->row[row].visits) q->info.rows++;
    value = &q->value[row * q->desc.servers + step->action];
    error = (float)(target - (double)*value);
    *value = (float)((double)*value + (double)q->desc.alpha * (double)error);
    q->info.updates++;
    q->row[row].seen = (uint32_t)q->info.updates;
    if (q->row[row].visits < UINT32_MAX) q->row[row].visits++;
    if (q->info.updates % (uint64_t)q->desc.episode == 0 && q->info.epsilon > (double)q->desc.epsilon_min) {
        q->info.epsilon *= (double)q->desc.decay;
        if (q->info.epsilon < (double)q->desc.epsilon_min) q->info.epsilon = (double)q->desc.epsilon_min;
    }
    return RLLB_OK;
}

rllb_status rllb_qlearn_set_epsilon(rllb_qlearn *q, float epsilon)
{
    if (!q || !(epsilon >= 0 && epsilon <= 1)) return RLLB_ERROR_ARGUMENT;
    q->info.epsilon = (double)epsilon;
    return RLLB_OK;
}

uint32_t rllb_qlearn_values(const rllb_qlearn *q, uint64_t state, float *values)
{
    int64_t row = q && state < q->info.states ? rllb_i_q_find(q, state) : -1;
    int32_t i;

    for (i = 0; q && values && i < q->desc.servers; i++) {
        values[i] = row < 0 ? q->desc.initial : q->value[row * q->desc.servers + i];
    }
    return row < 0 ? 0 : q->row[row].visits;
}

void rllb_qlearn_query(const rllb_qlearn *q, rllb_qlearn_desc *resolved, rllb_qlearn_info *info)
{
    if (resolved) memset(resolved, 0, sizeof *resolved);
    if (info) memset(info, 0, sizeof *info);
    if (q && resolved) *resolved = q->desc;
    if (q && info) *info = q->info;
}

/* The saved form, all little-endian: 8 bytes of magic, u32 version, u32 servers, u64 states, u64 encoder, u32 kind (1:
   hashed), u32 0, u64 rows, epsilon (a double's bits), 4 u64 of random numbers, the 7 counts below; a row for each
   state that was met: u64 state, u32 updates since its last, u32 visits, a float for each server; u64 FNV-1a of all
   before. Rows ascend, by state or by the state's hash, so that none is there twice. */
static const unsigned char rllb_i_q_magic[8] = { 'r', 'l', 'l', 'b', 'q', 't', 'a', 'b' };

/* The counts, in the order in which they are saved. */
static uint64_t *rllb_i_q_count(rllb_qlearn_info *i, int32_t k)
{
    uint64_t *of[7];

    of[0] = &i->updates;
    of[1] = &i->choices;
    of[2] = &i->explored;
    of[3] = &i->unseen;
    of[4] = &i->no_server;
    of[5] = &i->refused;
    of[6] = &i->replaced;
    return of[k];
}

static size_t rllb_i_q_row_bytes(uint64_t servers)
{
    return (size_t)(16 + 4 * servers);
}

size_t rllb_qlearn_saved_size(const rllb_qlearn *q)
{
    if (!q) return 0;
    return RLLB_I_Q_HEAD + (size_t)q->info.rows * rllb_i_q_row_bytes((uint64_t)q->desc.servers) + RLLB_I_Q_TAIL;
}

static void rllb_i_q_put_head(const rllb_qlearn *q, unsigned char *at)
{
    rllb_qlearn_info info = q->info;
    uint64_t bits;
    int32_t k;

    memcpy(at, rllb_i_q_magic, sizeof rllb_i_q_magic);
    rllb_i_q_put(at + 8, RLLB_I_Q_VERSION, 4);
    rllb_i_q_put(at + 12, (uint64_t)q->desc.servers, 4);
    rllb_i_q_put(at + 16, info.states, 8);
    rllb_i_q_put(at + 24, q->encoder, 8);
    rllb_i_q_put(at + 32, !info.dense, 4);
    rllb_i_q_put(at + 36, 0, 4);
    rllb_i_q_put(at + 40, info.rows, 8);
    memcpy(&bits, &info.epsilon, sizeof bits);
    rllb_i_q_put(at + 48, bits, 8);
    for (k = 0; k < 4; k++) rllb_i_q_put(at + 56 + 8 * k, q->rng.s[k], 8);
    for (k = 0; k < 7; k++) rllb_i_q_put(at + 88 + 8 * k, *rllb_i_q_count(&info, k), 8);
}

static unsigned char *rllb_i_q_put_row(const rllb_qlearn *q, int64_t row, unsigned char *at)
{
    int32_t k;

    rllb_i_q_put(at, q->info.dense ? (uint64_t)row : q->key[row] - 1, 8);
    rllb_i_q_put(at + 8, (uint32_t)q->info.updates - q->row[row].seen, 4);
    rllb_i_q_put(at + 12, q->row[row].visits, 4);
    for (k = 0; k < q->desc.servers; k++) rllb_i_q_put_float(at + 16 + 4 * k, q->value[row * q->desc.servers + k]);
    return at + rllb_i_q_row_bytes((uint64_t)q->desc.servers);
}

/* The rows of a bucket, by hash. */
static unsigned char *rllb_i_q_put_bucket(const rllb_qlearn *q, int64_t first, unsigned char *at)
{
    int64_t order[RLLB_I_Q_BUCKET];
    int32_t i, k, used = 0;

    for (i = 0; i < RLLB_I_Q_BUCKET; i++) {
        uint64_t key = q->key[first + i];
        if (!key) continue;
        for (k = used++; k > 0 && rllb_i_q_hash(q->key[order[k - 1]] - 1) > rllb_i_q_hash(key - 1); k--) {
            order[k] = order[k - 1];
        }
        order[k] = first + i;
    }
    for (i = 0; i < used; i++) at = rllb_i_q_put_row(q, order[i], at);
    return at;
}

rllb_status rllb_qlearn_save(const rllb_qlearn *q, void *bytes, size_t size)
{
    unsigned char *start = (unsigned char *)bytes, *at;
    int64_t i, rows;

    if (!q || !bytes) return RLLB_ERROR_ARGUMENT;
    if (size < rllb_qlearn_saved_size(q)) return RLLB_ERROR_MEMORY_SIZE;
    rllb_i_q_put_head(q, start);
    at = start + RLLB_I_Q_HEAD;
    rows = (int64_t)q->info.capacity;
    for (i = 0; q->info.dense && i < rows; i++) {
        if (q->row[i].visits) at = rllb_i_q_put_row(q, i, at);
    }
    for (i = 0; !q->info.dense && i < rows; i += RLLB_I_Q_BUCKET) at = rllb_i_q_put_bucket(q, i, at);
    rllb_i_q_put(at, rllb_i_q_fnv(RLLB_I_Q_FNV, start, (size_t)(at - start)), 8);
    return RLLB_OK;
}

/* Whole and undamaged, whatever it is about. */
static rllb_status rllb_i_q_check_form(const unsigned char *bytes, size_t size)
{
    size_t magic = sizeof rllb_i_q_magic, rows_size, row;
    uint64_t rows, servers;

    if (size && memcmp(bytes, rllb_i_q_magic, size < magic ? size : magic) != 0) return RLLB_ERROR_FORMAT;
    if (size < 12) return RLLB_ERROR_TRUNCATED;
    if (rllb_i_q_get(bytes + 8, 4) != RLLB_I_Q_VERSION) return RLLB_ERROR_VERSION;
    if (size < RLLB_I_Q_HEAD + RLLB_I_Q_TAIL) return RLLB_ERROR_TRUNCATED;
    servers = rllb_i_q_get(bytes + 12, 4);
    rows = rllb_i_q_get(bytes + 40, 8);
    if (servers < 1 || servers > RLLB_QLEARN_SERVERS_MAX) return RLLB_ERROR_FORMAT;
    row = rllb_i_q_row_bytes(servers);
    rows_size = size - RLLB_I_Q_HEAD - RLLB_I_Q_TAIL;
    if (rows > rows_size / row) return RLLB_ERROR_TRUNCATED;
    if (rows * row != rows_size) return RLLB_ERROR_FORMAT;
    if (rllb_i_q_get(bytes + size - RLLB_I_Q_TAIL, 8) !=
        rllb_i_q_fnv(RLLB_I_Q_FNV, bytes, size - RLLB_I_Q_TAIL)) {
        return RLLB_ERROR_FORMAT;
    }
    return RLLB_OK;
}

/* About the same servers, states and metrics, and numbers that a table can have. */
static rllb_status rllb_i_q_check_head(const rllb_qlearn *q, const unsigned char *bytes)
{
    uint64_t bits = rllb_i_q_get(bytes + 48, 8), random = 0;
    double epsilon;
    int32_t k;

    if (rllb_i_q_get(bytes + 12, 4) != (uint64_t)q->desc.servers || rllb_i_q_get(bytes + 16, 8) != q->info.states ||
        rllb_i_q_get(bytes + 24, 8) != q->encoder || rllb_i_q_get(bytes + 32, 4) != (uint64_t)!q->info.dense) {
        return RLLB_ERROR_SHAPE;
    }
    memcpy(&epsilon, &bits, sizeof epsilon);
    if (!rllb_i_finite(epsilon)) return RLLB_ERROR_NOT_FINITE;
    for (k = 0; k < 4; k++) random |= rllb_i_q_get(bytes + 56 + 8 * k, 8);
    return rllb_i_q_get(bytes + 36, 4) || !random || epsilon < 0 || epsilon > 1 ? RLLB_ERROR_FORMAT : RLLB_OK;
}

static rllb_status rllb_i_q_check_rows(const rllb_qlearn *q, const unsigned char *bytes)
{
    uint64_t rows = rllb_i_q_get(bytes + 40, 8), i, bucket = 0, last = 0;
    const unsigned char *at = bytes + RLLB_I_Q_HEAD;
    int32_t k, in_bucket = 0;

    for (i = 0; i < rows; i++, at += rllb_i_q_row_bytes((uint64_t)q->desc.servers)) {
        uint64_t state = rllb_i_q_get(at, 8), rank = q->info.dense ? state : rllb_i_q_hash(state);
        if (state >= q->info.states || (i && rank <= last) || !rllb_i_q_get(at + 12, 4)) return RLLB_ERROR_FORMAT;
        last = rank;
        for (k = 0; k < q->desc.servers; k++) {
            float v = rllb_i_q_get_float(at + 16 + 4 * k);
            if (!(v >= -RLLB_I_Q_VALUE_MAX && v <= RLLB_I_Q_VALUE_MAX)) return RLLB_ERROR_NOT_FINITE;
        }
        if (q->info.dense) continue;
        in_bucket = i && rank >> q->shift == bucket ? in_bucket + 1 : 1;
        bucket = rank >> q->shift;
        if (in_bucket > RLLB_I_Q_BUCKET) return RLLB_ERROR_LIMIT;
    }
    return RLLB_OK;
}

rllb_status rllb_qlearn_load(rllb_qlearn *q, const void *bytes, size_t size)
{
    const unsigned char *from = (const unsigned char *)bytes, *at;
    rllb_status status;
    uint64_t rows, i, bits;
    int32_t k;

    if (!q || !bytes) return RLLB_ERROR_ARGUMENT;
    status = rllb_i_q_check_form(from, size);
    if (status == RLLB_OK) status = rllb_i_q_check_head(q, from);
    if (status == RLLB_OK) status = rllb_i_q_check_rows(q, from);
    if (status != RLLB_OK) return status;
    rllb_i_q_clear(q);
    bits = rllb_i_q_get(from + 48, 8);
    memcpy(&q->info.epsilon, &bits, sizeof bits);
    for (k = 0; k < 4; k++) q->rng.s[k] = rllb_i_q_get(from + 56 + 8 * k, 8);
    for (k = 0; k < 7; k++) *rllb_i_q_count(&q->info, k) = rllb_i_q_get(from + 88 + 8 * k, 8);
    rows = rllb_i_q_get(from + 40, 8);
    at = from + RLLB_I_Q_HEAD;
    for (i = 0; i < rows; i++, at += rllb_i_q_row_bytes((uint64_t)q->desc.servers)) {
        uint64_t state = rllb_i_q_get(at, 8), replaced = q->info.replaced;
        int64_t row = q->info.dense ? (int64_t)state : rllb_i_q_claim(q, state);
        q->info.replaced = replaced;
        q->row[row].seen = (uint32_t)(q->info.updates - rllb_i_q_get(at + 8, 4));
        q->row[row].visits = (uint32_t)rllb_i_q_get(at + 12, 4);
        for (k = 0; k < q->desc.servers; k++) {
            q->value[row * q->desc.servers + k] = rllb_i_q_get_float(at + 16 + 4 * k);
        }
    }
    q->info.rows = rows;
    return RLLB_OK;
}

#ifdef __cplusplus
}
#endif

#endif /* RLLB_I_DONE */

#else /* RLLB_I_STAMP */

/* ================================================================================================================
   >>scans, the template: this part of the file is read once per instruction set, by the implementation above, with
   RLLB_I_STAMP set to one of RLLB_I_GENERIC ... . Everything is said in a few vector operations:

       V, VI            VW floats, VW int32            COUNTS(p)      VW counters, which other threads may be changing
       LESS(i, j)       all bits set where i < j       BELOW(i, j)    bit k: i[k] < j[k]
       MINC(i, j)       as floats >= 0, by their bits; j where i is NaN; MAXC: no NaN
       WITHOUT(m, i)    i, but 0 where m has all bits but the sign set
       POW2(t)          2^n for t = n + 1.5 * 2^23

   Sums of floats run over 16 lanes and then by halves, whatever the width, and nothing is fused: every set gives the
   same bits. The generic set reads counters by atomic loads. The others use vector loads, of which the language knows
   nothing, but which on these processors never tear an aligned counter; each is read once, so that what is decided
   later rests on one reading. */

#if RLLB_I_STAMP == RLLB_I_SSE2
#define RLLB_I_NAME(f) rllb_i_scan_##f##_sse2
#define RLLB_I_SET "sse2"
#define RLLB_I_TARGET RLLB_I_ATTR(target("sse2"))
#elif RLLB_I_STAMP == RLLB_I_AVX2
#define RLLB_I_NAME(f) rllb_i_scan_##f##_avx2
#define RLLB_I_SET "avx2"
#define RLLB_I_TARGET RLLB_I_ATTR(target("avx2,bmi2,popcnt"))
#elif RLLB_I_STAMP == RLLB_I_AVX512
#define RLLB_I_NAME(f) rllb_i_scan_##f##_avx512
#define RLLB_I_SET "avx512"
#define RLLB_I_TARGET RLLB_I_ATTR(target("avx512f,avx2,bmi2,popcnt"))
#elif RLLB_I_STAMP == RLLB_I_NEON
#define RLLB_I_NAME(f) rllb_i_scan_##f##_neon
#define RLLB_I_SET "neon"
#define RLLB_I_TARGET
#else
#define RLLB_I_NAME(f) rllb_i_scan_##f##_generic
#define RLLB_I_SET "generic"
#define RLLB_I_TARGET
#endif

#define KERNEL static RLLB_I_TARGET
#define NAME(f) RLLB_I_NAME(f)
#define INLINE static RLLB_I_ALWAYS_INLINE RLLB_I_TARGET
#if RLLB_I_STAMP == RLLB_I_GENERIC
#define UNROLL
#else
#define UNROLL RLLB_I_UNROLL
#endif

#if RLLB_I_STAMP == RLLB_I_AVX512
/* The maskz forms compute the same; the plain ones make gcc 12 warn of its own headers in C++. */
#define V __m512
#define VI __m512i
#define VW 16
#define LD(p) _mm512_load_ps(p)
#define ST(p, a) _mm512_store_ps(p, a)
#define SET1(x) _mm512_set1_ps(x)
#define ADDV(a, b) _mm512_add_ps(a, b)
#define SUBV(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define MAXV(a, b) _mm512_maskz_max_ps(0xffff, a, b)
#define COUNTS(p) _mm512_load_si512(p)
#define LDI(p) _mm512_loadu_si512(p)
#define STI(p, a) _mm512_store_si512(p, a)
#define SET1I(x) _mm512_set1_epi32(x)
#define ADDI(a, b) _mm512_add_epi32(a, b)
#define SUBI(a, b) _mm512_sub_epi32(a, b)
#define ANDI(a, b) _mm512_and_si512(a, b)
#define ORI(a, b) _mm512_or_si512(a, b)
#define TO_FLOAT(i) _mm512_maskz_cvtepi32_ps(0xffff, i)
#define AS_INT(a) _mm512_castps_si512(a)
#define AS_FLOAT(i) _mm512_castsi512_ps(i)
#define SHIFT23(i) _mm512_maskz_slli_epi32(0xffff, i, 23)
#define WITHOUT(m, i) _mm512_maskz_andnot_epi32(0xffff, m, i)
#define MINC(a, b) _mm512_maskz_min_epu32(0xffff, a, b)
#define MAXC(a, b) _mm512_maskz_max_epu32(0xffff, a, b)
#define LESS(i, j) _mm512_maskz_set1_epi32(_mm512_cmpgt_epi32_mask(j, i), -1)
#define BELOW(i, j) ((uint32_t)_mm512_cmpgt_epi32_mask(j, i))
#elif RLLB_I_STAMP == RLLB_I_AVX2
#define V __m256
#define VI __m256i
#define VW 8
#define LD(p) _mm256_load_ps(p)
#define ST(p, a) _mm256_store_ps(p, a)
#define SET1(x) _mm256_set1_ps(x)
#define ADDV(a, b) _mm256_add_ps(a, b)
#define SUBV(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define MAXV(a, b) _mm256_max_ps(a, b)
#define COUNTS(p) _mm256_load_si256((const __m256i *)(const void *)(p))
#define LDI(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STI(p, a) _mm256_store_si256((__m256i *)(void *)(p), a)
#define STU(p, a) _mm256_storeu_si256((__m256i *)(void *)(p), a)
#define SET1I(x) _mm256_set1_epi32(x)
#define ADDI(a, b) _mm256_add_epi32(a, b)
#define SUBI(a, b) _mm256_sub_epi32(a, b)
#define ANDI(a, b) _mm256_and_si256(a, b)
#define ORI(a, b) _mm256_or_si256(a, b)
#define TO_FLOAT(i) _mm256_cvtepi32_ps(i)
#define AS_INT(a) _mm256_castps_si256(a)
#define AS_FLOAT(i) _mm256_castsi256_ps(i)
#define SHIFT23(i) _mm256_slli_epi32(i, 23)
#define WITHOUT(m, i) _mm256_andnot_si256(m, i)
#define MINC(a, b) _mm256_min_epu32(a, b)
#define MAXC(a, b) _mm256_max_epu32(a, b)
#define LESS(i, j) _mm256_cmpgt_epi32(j, i)
#define BELOW(i, j) ((uint32_t)_mm256_movemask_ps(AS_FLOAT(LESS(i, j))))
#elif RLLB_I_STAMP == RLLB_I_SSE2
#define V __m128
#define VI __m128i
#define VW 4
#define LD(p) _mm_load_ps(p)
#define ST(p, a) _mm_store_ps(p, a)
#define SET1(x) _mm_set1_ps(x)
#define ADDV(a, b) _mm_add_ps(a, b)
#define SUBV(a, b) _mm_sub_ps(a, b)
#define MUL(a, b) _mm_mul_ps(a, b)
#define MAXV(a, b) _mm_max_ps(a, b)
#define COUNTS(p) _mm_load_si128((const __m128i *)(const void *)(p))
#define LDI(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define STI(p, a) _mm_store_si128((__m128i *)(void *)(p), a)
#define STU(p, a) _mm_storeu_si128((__m128i *)(void *)(p), a)
#define SET1I(x) _mm_set1_epi32(x)
#define ADDI(a, b) _mm_add_epi32(a, b)
#define SUBI(a, b) _mm_sub_epi32(a, b)
#define ANDI(a, b) _mm_and_si128(a, b)
#define ORI(a, b) _mm_or_si128(a, b)
#define TO_FLOAT(i) _mm_cvtepi32_ps(i)
#define AS_INT(a) _mm_castps_si128(a)
#define AS_FLOAT(i) _mm_castsi128_ps(i)
#define SHIFT23(i) _mm_slli_epi32(i, 23)
#define WITHOUT(m, i) _mm_andnot_si128(m, i)
#define MINC(a, b) AS_INT(_mm_min_ps(AS_FLOAT(a), AS_FLOAT(b)))
#define MAXC(a, b) AS_INT(_mm_max_ps(AS_FLOAT(a), AS_FLOAT(b)))
#define LESS(i, j) _mm_cmplt_epi32(i, j)
#define BELOW(i, j) ((uint32_t)_mm_movemask_ps(AS_FLOAT(LESS(i, j))))
#elif RLLB_I_STAMP == RLLB_I_NEON
#define V float32x4_t
#define VI int32x4_t
#define VW 4
#define LD(p) vld1q_f32(p)
#define ST(p, a) vst1q_f32(p, a)
#define SET1(x) vdupq_n_f32(x)
#define ADDV(a, b) vaddq_f32(a, b)
#define SUBV(a, b) vsubq_f32(a, b)
#define MUL(a, b) vmulq_f32(a, b)
#define MAXV(a, b) vmaxq_f32(a, b)
#define COUNTS(p) vld1q_s32(p)
#define LDI(p) vld1q_s32(p)
#define STI(p, a) vst1q_s32(p, a)
#define STU(p, a) vst1q_s32((int32_t *)(void *)(p), a)
#define SET1I(x) vdupq_n_s32(x)
#define ADDI(a, b) vaddq_s32(a, b)
#define SUBI(a, b) vsubq_s32(a, b)
#define ANDI(a, b) vandq_s32(a, b)
#define ORI(a, b) vorrq_s32(a, b)
#define TO_FLOAT(i) vcvtq_f32_s32(i)
#define AS_INT(a) vreinterpretq_s32_f32(a)
#define AS_FLOAT(i) vreinterpretq_f32_s32(i)
#define SHIFT23(i) vshlq_n_s32(i, 23)
#define WITHOUT(m, i) vbicq_s32(i, m)
#define MINC(a, b) vreinterpretq_s32_u32(vminq_u32(vreinterpretq_u32_s32(a), vreinterpretq_u32_s32(b)))
#define MAXC(a, b) vmaxq_s32(a, b)
#define LESS(i, j) vreinterpretq_s32_u32(vcltq_s32(i, j))
#define BELOW(i, j) NAME(below)(i, j)
#else
#define V float
#define VI int32_t
#define VW 1
#define LD(p) (*(p))
#define ST(p, a) ((void)(*(p) = (a)))
#define SET1(x) (x)
#define ADDV(a, b) ((a) + (b))
#define SUBV(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define MAXV(a, b) ((a) > (b) ? (a) : (b))
#if defined(__GNUC__)
#define COUNTS(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#else
#define COUNTS(p) (*(const volatile int32_t *)(p))
#endif
#define LDI(p) (*(p))
#define STI(p, a) ((void)(*(p) = (a)))
#define SET1I(x) ((int32_t)(x))
#define ADDI(a, b) ((int32_t)((uint32_t)(a) + (uint32_t)(b)))
#define SUBI(a, b) ((int32_t)((uint32_t)(a) - (uint32_t)(b)))
#define ANDI(a, b) ((a) & (b))
#define ORI(a, b) ((a) | (b))
#define TO_FLOAT(i) ((float)(i))
#define AS_INT(a) rllb_i_bits_of(a)
#define AS_FLOAT(i) rllb_i_float_of(i)
#define SHIFT23(i) ((int32_t)((uint32_t)(i) << 23))
#define WITHOUT(m, i) ((i) & ~(m))
#define MINC(a, b) ((uint32_t)(a) < (uint32_t)(b) ? (a) : (b))
#define MAXC(a, b) ((a) > (b) ? (a) : (b))
#define LESS(i, j) (-(int32_t)((i) < (j)))
#define BELOW(i, j) ((uint32_t)((i) < (j)))
#endif

#define VECTORS (16 / VW) /* of 16 lanes */
#define POW2(t) AS_FLOAT(ADDI(SHIFT23(AS_INT(t)), SET1I(0x3f800000)))
#define INFINITE SET1I(0x7f800000)

/* ---- across the lanes of a vector ------------------------------------------------------------------------------ */

/* least: the least cost, in all lanes. total: the sum. first: lane 0. */
#if RLLB_I_STAMP == RLLB_I_AVX512
INLINE VI NAME(least_lane)(VI a)
{
    a = MINC(a, _mm512_maskz_shuffle_i32x4(0xffff, a, a, 0x4e));
    a = MINC(a, _mm512_maskz_shuffle_i32x4(0xffff, a, a, 0xb1));
    a = MINC(a, _mm512_maskz_shuffle_epi32(0xffff, a, _MM_PERM_BADC));
    return MINC(a, _mm512_maskz_shuffle_epi32(0xffff, a, _MM_PERM_CDAB));
}

INLINE int32_t NAME(first)(VI a)
{
    return _mm_cvtsi128_si32(_mm512_maskz_extracti32x4_epi32(0xf, a, 0));
}

INLINE int32_t NAME(total)(VI a)
{
    __m256i e = _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xff, a, 0),
                                 _mm512_maskz_extracti64x4_epi64(0xff, a, 1));
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
#elif RLLB_I_STAMP == RLLB_I_AVX2
INLINE VI NAME(least_lane)(VI a)
{
    a = MINC(a, _mm256_permute2x128_si256(a, a, 1));
    a = MINC(a, _mm256_shuffle_epi32(a, 0x4e));
    return MINC(a, _mm256_shuffle_epi32(a, 0xb1));
}

INLINE int32_t NAME(first)(VI a)
{
    return _mm256_cvtsi256_si32(a);
}

INLINE int32_t NAME(total)(VI a)
{
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
#elif RLLB_I_STAMP == RLLB_I_SSE2
INLINE VI NAME(least_lane)(VI a)
{
    a = MINC(a, _mm_shuffle_epi32(a, 0x4e));
    return MINC(a, _mm_shuffle_epi32(a, 0xb1));
}

INLINE int32_t NAME(first)(VI a)
{
    return _mm_cvtsi128_si32(a);
}

INLINE int32_t NAME(total)(VI a)
{
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}
#elif RLLB_I_STAMP == RLLB_I_NEON
INLINE uint32_t NAME(below)(VI i, VI j)
{
    static const uint32_t bit[4] = { 1, 2, 4, 8 };
    return vaddvq_u32(vandq_u32(vcltq_s32(i, j), vld1q_u32(bit)));
}

INLINE VI NAME(least_lane)(VI a)
{
    return vdupq_n_s32(vminvq_s32(a));
}

INLINE int32_t NAME(first)(VI a)
{
    return vgetq_lane_s32(a, 0);
}

INLINE int32_t NAME(total)(VI a)
{
    return vaddvq_s32(a);
}
#else
INLINE VI NAME(least_lane)(VI a)
{
    return a;
}

INLINE int32_t NAME(first)(VI a)
{
    return a;
}

INLINE int32_t NAME(total)(VI a)
{
    return a;
}
#endif

/* The sum of 16 lanes by halves: j and j + 8, then j and j + 4, ... */
INLINE float NAME(sum)(const V *v)
{
#if RLLB_I_STAMP == RLLB_I_AVX512 || RLLB_I_STAMP == RLLB_I_AVX2
#if RLLB_I_STAMP == RLLB_I_AVX512
    __m512d both = _mm512_castps_pd(v[0]);
    __m256 e = _mm256_add_ps(_mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, both, 0)),
                             _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, both, 1)));
#else
    __m256 e = _mm256_add_ps(v[0], v[1]);
#endif
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
#elif RLLB_I_STAMP == RLLB_I_SSE2
    __m128 q = _mm_add_ps(_mm_add_ps(v[0], v[2]), _mm_add_ps(v[1], v[3]));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
#elif RLLB_I_STAMP == RLLB_I_NEON
    float32x4_t q = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
    float32x2_t d = vadd_f32(vget_low_f32(q), vget_high_f32(q));
    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
#else
    float s[16];
    int i, half;

    for (i = 0; i < 16; i++) s[i] = v[i];
    for (half = 8; half >= 1; half /= 2) {
        for (i = 0; i < half; i++) s[i] = s[i] + s[i + half];
    }
    return s[0];
#endif
}

INLINE int32_t NAME(ones)(uint64_t word)
{
#if RLLB_I_STAMP == RLLB_I_AVX2 || RLLB_I_STAMP == RLLB_I_AVX512 || RLLB_I_STAMP == RLLB_I_NEON
    return __builtin_popcountll(word);
#else
    word -= (word >> 1) & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
    return (int32_t)((((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u) >> 56);
#endif
}

/* Index of the set bit of that rank; there is one. */
KERNEL int32_t NAME(bit)(uint64_t word, int32_t rank)
{
#if (RLLB_I_STAMP == RLLB_I_AVX2 || RLLB_I_STAMP == RLLB_I_AVX512) && defined(__x86_64__)
    return (int32_t)__builtin_ctzll(_pdep_u64((uint64_t)1 << rank, word));
#else
    while (rank-- > 0) word &= word - 1;
    return rllb_i_lowest(word);
#endif
}

/* ---- least cost ------------------------------------------------------------------------------------------------

   cost[j] = (in flight over all workers + 1) * scale[j]; idle_first: 2^40 times as much if any is in flight. scale is
   >= 0, infinite: not usable. In `words` bit j % 64 of word j / 64 says that cost[j] ties with the least: it is finite
   and at most 8 floats away, 2^-21 to 2^-20 of it. Answers how many bits are set. n is a multiple of 16, at most 4096.
   Costs are kept as bits, which order as they do, because integers compare faster.

   pick: n <= 64 servers. Answers one of those that tie, which one by `random` / 2^32, or -1.
   pick_blocks: the same of one worker and any n, with what is known of blocks of 64, of which `changed` may differ.
   block: least cost of one such block; what ties must cost less than `limit` too; most: the greatest cost of the tied,
   0 if there are none. */

#if RLLB_I_STAMP == RLLB_I_GENERIC
INLINE int32_t NAME(least_any)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                               int idle_first, uint64_t *words)
{
    int32_t cost[4096], least = 0x7f800000, j, w, ties = 0;
    uint64_t word = 0;

    for (j = 0; j < n; j++) cost[j] = ADDI(COUNTS(counts + j), 1);
    for (w = 1; w < workers; w++) {
        counts += stride;
        for (j = 0; j < n; j++) cost[j] = ADDI(cost[j], COUNTS(counts + j));
    }
    for (j = 0; j < n; j++) {
        float busy = idle_first && cost[j] > 1 ? 1099511627776.0f : 1.0f; /* 2^40 */
        cost[j] = AS_INT((float)cost[j] * scale[j] * busy);
        least = MINC(cost[j], least);
    }
    least = MINC(least + 9, 0x7f800000);
    for (j = 0; j < n; j++) {
        word |= (uint64_t)(cost[j] < least) << (j % 64);
        if (j % 64 < 63 && j + 1 < n) continue;
        words[j / 64] = word;
        ties += NAME(ones)(word);
        word = 0;
    }
    return ties;
}

KERNEL int32_t NAME(least)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                           uint64_t *words)
{
    return NAME(least_any)(counts, stride, workers, scale, n, 0, words);
}

KERNEL int32_t NAME(least_idle)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                                uint64_t *words)
{
    return NAME(least_any)(counts, stride, workers, scale, n, 1, words);
}

KERNEL int32_t NAME(pick)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                          bool idle_first, uint32_t random)
{
    uint64_t word;
    int32_t ties = NAME(least_any)(counts, stride, workers, scale, n, idle_first, &word);

    return ties ? NAME(bit)(word, (int32_t)(((uint64_t)random * (uint32_t)ties) >> 32)) : -1;
}

INLINE int32_t NAME(block)(const int32_t *counts, const float *scale, int32_t n, bool idle_first, int32_t limit,
                           uint64_t *word, int32_t *most)
{
    int32_t cost[64], least = 0x7f800000, j;

    for (j = 0; j < n; j++) {
        int32_t count = ADDI(COUNTS(counts + j), 1);
        float busy = idle_first && count > 1 ? 1099511627776.0f : 1.0f; /* 2^40 */
        cost[j] = AS_INT((float)count * scale[j] * busy);
        least = MINC(cost[j], least);
    }
    if (limit > least + 9) limit = least + 9;
    for (*word = 0, *most = 0, j = 0; j < n; j++) {
        *word |= (uint64_t)(cost[j] < limit) << j;
        *most = cost[j] < limit ? MAXC(cost[j], *most) : *most;
    }
    return least;
}
#else
/* Costs of `vectors` vectors of servers, and the least of them lane by lane. */
INLINE VI NAME(costs)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int vectors,
                      int idle_first, VI *cost)
{
    VI in_flight[64 / VW], least;
    int32_t w;
    int i;

    UNROLL
    for (i = 0; i < vectors; i++) in_flight[i] = ADDI(COUNTS(counts + i * VW), SET1I(1));
    for (w = 1; w < workers; w++) {
        counts += stride;
        UNROLL
        for (i = 0; i < vectors; i++) in_flight[i] = ADDI(in_flight[i], COUNTS(counts + i * VW));
    }
    UNROLL
    for (i = 0; i < vectors; i++) {
        V product = MUL(TO_FLOAT(in_flight[i]), LD(scale + i * VW));
        if (idle_first) { /* exponents 0 and 40 */
            VI busy = ANDI(LESS(SET1I(1), in_flight[i]), SET1I(0x14000000));
            product = MUL(product, AS_FLOAT(ADDI(busy, SET1I(0x3f800000))));
        }
        cost[i] = AS_INT(product);
    }
    least = cost[0];
    UNROLL
    for (i = 1; i < vectors; i++) least = MINC(least, cost[i]);
    return least;
}

INLINE uint64_t NAME(tied)(const VI *cost, VI limit, int vectors)
{
    uint64_t word = 0;
    int i;

    UNROLL
    for (i = 0; i < vectors; i++) word |= (uint64_t)BELOW(cost[i], limit) << (i * VW);
    return word;
}

/* What costs less ties with the least. */
INLINE VI NAME(limit)(VI least)
{
    return MINC(ADDI(NAME(least_lane)(least), SET1I(9)), INFINITE);
}

/* Up to 64 servers: all costs stay in registers. */
INLINE int32_t NAME(least_in)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int vectors,
                              int idle_first, uint64_t *words)
{
    VI cost[64 / VW], least = NAME(costs)(counts, stride, workers, scale, vectors, idle_first, cost);

    words[0] = NAME(tied)(cost, NAME(limit)(least), vectors);
    return NAME(ones)(words[0]);
}

INLINE int32_t NAME(least_of_few)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                                  int idle_first, uint64_t *words)
{
    switch (n) {
    case 16: return NAME(least_in)(counts, stride, workers, scale, VECTORS, idle_first, words);
    case 32: return NAME(least_in)(counts, stride, workers, scale, 2 * VECTORS, idle_first, words);
    case 48: return NAME(least_in)(counts, stride, workers, scale, 3 * VECTORS, idle_first, words);
    default: return NAME(least_in)(counts, stride, workers, scale, 4 * VECTORS, idle_first, words);
    }
}

/* Up to 64 servers to the pick. */
INLINE int32_t NAME(pick_in)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int vectors,
                             int idle_first, uint32_t random)
{
    VI cost[64 / VW], least = NAME(costs)(counts, stride, workers, scale, vectors, idle_first, cost);
    uint64_t word = NAME(tied)(cost, NAME(limit)(least), vectors);

    return word ? NAME(bit)(word, (int32_t)(((uint64_t)random * (uint32_t)NAME(ones)(word)) >> 32)) : -1;
}

INLINE int32_t NAME(pick_of)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                             int idle_first, uint32_t random)
{
    if (n == 16) return NAME(pick_in)(counts, stride, workers, scale, VECTORS, idle_first, random);
    if (n == 32) return NAME(pick_in)(counts, stride, workers, scale, 2 * VECTORS, idle_first, random);
    if (n == 48) return NAME(pick_in)(counts, stride, workers, scale, 3 * VECTORS, idle_first, random);
    return NAME(pick_in)(counts, stride, workers, scale, 4 * VECTORS, idle_first, random);
}

/* One block by itself. */
INLINE int32_t NAME(block_in)(const int32_t *counts, const float *scale, int vectors, int idle_first, int32_t limit,
                              uint64_t *word, int32_t *most)
{
    VI cost[64 / VW], up = SET1I(0), below;
    VI least = NAME(least_lane)(NAME(costs)(counts, 0, 1, scale, vectors, idle_first, cost));
    int i;

    below = MINC(ADDI(least, SET1I(9)), SET1I(limit));
    *word = NAME(tied)(cost, below, vectors);
    UNROLL
    for (i = 0; i < vectors; i++) up = MAXC(ANDI(LESS(cost[i], below), cost[i]), up);
    *most = 0x7f800000 - NAME(first)(NAME(least_lane)(SUBI(INFINITE, up)));
    return NAME(first)(least);
}

/* Costs of the last n < 64 servers; infinite for the rest of the block. */
INLINE VI NAME(rest)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                     int idle_first, VI *cost)
{
    RLLB_I_ALIGNED(int32_t bits[64]);
    VI least = INFINITE, part[VECTORS];
    int i, j;

    for (i = 0; i < 64; i += 16) {
        for (j = 0; j < VECTORS; j++) part[j] = INFINITE;
        if (i < n) {
            least = MINC(least, NAME(costs)(counts + i, stride, workers, scale + i, VECTORS, idle_first, part));
        }
        UNROLL
        for (j = 0; j < VECTORS; j++) STI(bits + i + j * VW, part[j]);
    }
    UNROLL
    for (i = 0; i < 64 / VW; i++) cost[i] = LDI(bits + i * VW);
    return least;
}

/* More: costs are kept only of blocks of 64 that, so far, could hold the least or a tie with it. Few, as a rule. */
typedef struct NAME(keeper) {
    int32_t count, block[64];
    RLLB_I_ALIGNED(int32_t costs[4096]);
} NAME(keeper);

INLINE void NAME(keep)(NAME(keeper) *kept, VI *limit, int32_t block, const VI *cost, VI least)
{
    int32_t *to = kept->costs + kept->count * 64;
    int i;

    if (!BELOW(least, *limit)) return;
    *limit = MINC(*limit, NAME(limit)(least));
    UNROLL
    for (i = 0; i < 64 / VW; i++) STI(to + i * VW, cost[i]);
    kept->block[kept->count++] = block;
}

INLINE int32_t NAME(least_of_many)(const int32_t *counts, size_t stride, int32_t workers, const float *scale,
                                   int32_t n, int idle_first, uint64_t *words)
{
    NAME(keeper) kept;
    VI cost[64 / VW], limit = INFINITE, least;
    int32_t j, b, ties = 0;
    int i;

    kept.count = 0;
    for (j = 0; j + 64 <= n; j += 64) {
        words[j / 64] = 0;
        least = NAME(costs)(counts + j, stride, workers, scale + j, 64 / VW, idle_first, cost);
        NAME(keep)(&kept, &limit, j / 64, cost, least);
    }
    if (j < n) {
        words[j / 64] = 0;
        least = NAME(rest)(counts + j, stride, workers, scale + j, n - j, idle_first, cost);
        NAME(keep)(&kept, &limit, j / 64, cost, least);
    }
    for (b = 0; b < kept.count; b++) {
        const int32_t *from = kept.costs + b * 64;
        UNROLL
        for (i = 0; i < 64 / VW; i++) cost[i] = LDI(from + i * VW);
        words[kept.block[b]] = NAME(tied)(cost, limit, 64 / VW);
        ties += NAME(ones)(words[kept.block[b]]);
    }
    return ties;
}

/* Apart from the few, so that these need no frame for many. */
KERNEL RLLB_I_ATTR(noinline) int32_t NAME(least_many)(const int32_t *counts, size_t stride, int32_t workers,
                                                      const float *scale, int32_t n, uint64_t *words)
{
    return NAME(least_of_many)(counts, stride, workers, scale, n, 0, words);
}

KERNEL RLLB_I_ATTR(noinline) int32_t NAME(least_idle_many)(const int32_t *counts, size_t stride, int32_t workers,
                                                           const float *scale, int32_t n, uint64_t *words)
{
    return NAME(least_of_many)(counts, stride, workers, scale, n, 1, words);
}

KERNEL int32_t NAME(least)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                           uint64_t *words)
{
    if (n > 64) return NAME(least_many)(counts, stride, workers, scale, n, words);
#if RLLB_I_STAMP == RLLB_I_AVX512 /* wider vectors gain nothing here, and lower the clock of some processors */
    return rllb_i_scan_least_avx2(counts, stride, workers, scale, n, words);
#else
    return NAME(least_of_few)(counts, stride, workers, scale, n, 0, words);
#endif
}

KERNEL int32_t NAME(least_idle)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                                uint64_t *words)
{
    if (n > 64) return NAME(least_idle_many)(counts, stride, workers, scale, n, words);
#if RLLB_I_STAMP == RLLB_I_AVX512
    return rllb_i_scan_least_idle_avx2(counts, stride, workers, scale, n, words);
#else
    return NAME(least_of_few)(counts, stride, workers, scale, n, 1, words);
#endif
}

KERNEL int32_t NAME(pick)(const int32_t *counts, size_t stride, int32_t workers, const float *scale, int32_t n,
                          bool idle_first, uint32_t random)
{
#if RLLB_I_STAMP == RLLB_I_AVX512
    return rllb_i_scan_pick_avx2(counts, stride, workers, scale, n, idle_first, random);
#else
    if (idle_first) return NAME(pick_of)(counts, stride, workers, scale, n, 1, random);
    return NAME(pick_of)(counts, stride, workers, scale, n, 0, random);
#endif
}

INLINE int32_t NAME(block)(const int32_t *counts, const float *scale, int32_t n, bool idle_first, int32_t limit,
                           uint64_t *word, int32_t *most)
{
    if (idle_first) {
        switch (n) {
        case 16: return NAME(block_in)(counts, scale, VECTORS, 1, limit, word, most);
        case 32: return NAME(block_in)(counts, scale, 2 * VECTORS, 1, limit, word, most);
        case 48: return NAME(block_in)(counts, scale, 3 * VECTORS, 1, limit, word, most);
        default: return NAME(block_in)(counts, scale, 4 * VECTORS, 1, limit, word, most);
        }
    }
    switch (n) {
    case 16: return NAME(block_in)(counts, scale, VECTORS, 0, limit, word, most);
    case 32: return NAME(block_in)(counts, scale, 2 * VECTORS, 0, limit, word, most);
    case 48: return NAME(block_in)(counts, scale, 3 * VECTORS, 0, limit, word, most);
    default: return NAME(block_in)(counts, scale, 4 * VECTORS, 0, limit, word, most);
    }
}
#endif

#if RLLB_I_STAMP == RLLB_I_AVX512 /* see NAME(least) */
KERNEL int32_t NAME(pick_blocks)(rllb_i_blocks *known, const int32_t *counts, const float *scale, int32_t n,
                                 bool idle_first, uint64_t changed, uint32_t random)
{
    return rllb_i_scan_pick_blocks_avx2(known, counts, scale, n, idle_first, changed, random);
}
#else
/* Who of block i costs less than `limit`; of a block whose least does. */
INLINE uint64_t NAME(block_word)(const rllb_i_blocks *known, int32_t i, const int32_t *counts, const float *scale,
                                 int32_t n, bool idle_first, int32_t limit)
{
    uint64_t word = known->tied[i];
    int32_t most;

    if (known->most[i] < limit) return word;
    NAME(block)(counts + 64 * i, scale + 64 * i, n - 64 * i < 64 ? n - 64 * i : 64, idle_first, limit, &word, &most);
    return word;
}

KERNEL int32_t NAME(pick_blocks)(rllb_i_blocks *known, const int32_t *counts, const float *scale, int32_t n,
                                 bool idle_first, uint64_t changed, uint32_t random)
{
    int32_t upto[64], i, blocks = (n + 63) / 64, least = 0x7f800000, limit, tied = 0, beyond = 0, rank, at = 0;

    for (; changed; changed &= changed - 1) {
        i = rllb_i_lowest(changed);
        known->least[i] = NAME(block)(counts + 64 * i, scale + 64 * i, n - 64 * i < 64 ? n - 64 * i : 64, idle_first,
                                      0x7f800000, &known->tied[i], &known->most[i]);
        known->ties[i] = NAME(ones)(known->tied[i]);
    }
    for (i = 0; i < blocks; i++) least = known->least[i] < least ? known->least[i] : least;
    limit = least + 9 < 0x7f800000 ? least + 9 : 0x7f800000;
    for (i = 0; i < blocks; i++) {
        int32_t in = -(int32_t)(known->least[i] < limit);
        upto[i] = tied += known->ties[i] & in;
        beyond |= in & -(int32_t)(known->most[i] >= limit);
    }
    if (beyond) { /* what ties in its block need not tie with the least of all */
        for (tied = 0, i = 0; i < blocks; i++) {
            if (known->least[i] < limit) {
                tied += NAME(ones)(NAME(block_word)(known, i, counts, scale, n, idle_first, limit));
            }
            upto[i] = tied;
        }
    }
    if (!tied) return -1;
    rank = (int32_t)(((uint64_t)random * (uint32_t)tied) >> 32);
    for (i = 0; i < blocks; i++) at += upto[i] <= rank;
    return 64 * at + NAME(bit)(NAME(block_word)(known, at, counts, scale, n, idle_first, limit),
                               at ? rank - upto[at - 1] : rank);
}
#endif

/* ---- samples --------------------------------------------------------------------------------------------------- */

#if RLLB_I_STAMP != RLLB_I_GENERIC && RLLB_I_STAMP != RLLB_I_AVX512
/* The low and the high halves of VW words; none is torn, whether or not they are aligned to more than their size. */
INLINE void NAME(halves)(const uint64_t *p, VI *low, VI *high)
{
#if RLLB_I_STAMP == RLLB_I_AVX2
    __m256 a = _mm256_loadu_ps((const float *)(const void *)p);
    __m256 b = _mm256_loadu_ps((const float *)(const void *)(p + 4));
    *low = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), 0xd8);
    *high = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd)), 0xd8);
#elif RLLB_I_STAMP == RLLB_I_SSE2
    __m128 a = _mm_loadu_ps((const float *)(const void *)p), b = _mm_loadu_ps((const float *)(const void *)(p + 2));
    *low = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
    *high = _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd));
#else
    int32x4_t a = vreinterpretq_s32_u64(vld1q_u64(p)), b = vreinterpretq_s32_u64(vld1q_u64(p + 2));
    *low = vuzp1q_s32(a, b);
    *high = vuzp2q_s32(a, b);
#endif
}
#endif

/* Takes samples apart, leaving empty slots out; how many there are. Vectors as long as all slots are full. */
KERNEL int32_t NAME(split)(const uint64_t *slots, int32_t count, uint32_t now, float *value, float *age_s)
{
#if RLLB_I_STAMP == RLLB_I_AVX512
    return rllb_i_scan_split_avx2(slots, count, now, value, age_s);
#else
    const float tick_s = (float)(1 / RLLB_I_TICKS_PER_S);
    int32_t i = 0, n;
#if RLLB_I_STAMP != RLLB_I_GENERIC
    uint32_t empty = 0;

    for (; i + VW <= count; i += VW) {
        VI low, high, age;
        NAME(halves)(slots + i, &low, &high);
        empty = BELOW(low, SET1I(1));
        if (empty) break;
        age = SUBI(SET1I((int32_t)now), high);
        age = ANDI(LESS(SET1I(0), age), age);
        STU(value + i, low);
        STU(age_s + i, AS_INT(MUL(TO_FLOAT(age), SET1(tick_s))));
    }
#endif
    for (n = i; i < count; i++) {
        uint64_t word = RLLB_I_LOAD(&slots[i]);
        int32_t age = (int32_t)(now - (uint32_t)(word >> 32));
        value[n] = rllb_i_float_of((int32_t)(uint32_t)word);
        age_s[n] = age > 0 ? (float)age * tick_s : 0;
        n += word != 0;
    }
    return n;
#endif
}

/* ---- moments --------------------------------------------------------------------------------------------------- */

/* 2^x for x <= 0, off by less than 3e-7 of it; never less than 2^-90, so that a mean of old samples alone is still one,
   and subnormal numbers, which are slow, do not come up. x = n + r, |r| <= 1/2; 2^r - 1 by a minimax polynomial without
   constant term, so that 2^0 is 1. */
INLINE V NAME(pow2)(V x)
{
    V t, r, square, high, middle, low;

    x = MAXV(x, SET1(-90.0f));
    t = ADDV(x, SET1(12582912.0f));
    r = SUBV(x, SUBV(t, SET1(12582912.0f)));
    square = MUL(r, r);
    high = ADDV(MUL(SET1(1.3264739e-3f), r), SET1(9.67151672e-3f));
    middle = ADDV(MUL(SET1(5.55073358e-2f), r), SET1(2.40222424e-1f));
    low = ADDV(MUL(SET1(6.93147004e-1f), r), SET1(1.0f));
    return MUL(ADDV(MUL(ADDV(MUL(high, square), middle), square), low), POW2(t));
}

/* Moments of v[n] with f = 2^(-rate age), rate and age >= 0; product = v f, padding included. v is zero past n. */
KERNEL void NAME(reduce)(const float *v, const float *age_s, int32_t n, float rate, float *product,
                         rllb_i_moments *out)
{
    V sum[VECTORS], fresh[VECTORS], both[VECTORS], mean;
    const int32_t *outside;
    float both_sum;
    int32_t at;
    int i;

    UNROLL
    for (i = 0; i < VECTORS; i++) sum[i] = fresh[i] = both[i] = SET1(0.0f);
    for (at = 0; at < n; at += 16) {
        outside = rllb_i_scan_outside + 16 - (n - at < 16 ? n - at : 16);
        UNROLL
        for (i = 0; i < VECTORS; i++) {
            V x = LD(v + at + i * VW), f = NAME(pow2)(MUL(LD(age_s + at + i * VW), SET1(-rate)));
            f = AS_FLOAT(WITHOUT(LDI(outside + i * VW), AS_INT(f)));
            sum[i] = ADDV(sum[i], x);
            fresh[i] = ADDV(fresh[i], f);
            f = MUL(x, f);
            both[i] = ADDV(both[i], f);
            ST(product + at + i * VW, f);
        }
    }
    both_sum = NAME(sum)(both);
    out->decayed = both_sum / (float)n;
    out->discounted = both_sum / NAME(sum)(fresh);
    out->mean = NAME(sum)(sum) / (float)n;
    mean = SET1(out->mean);
    UNROLL
    for (i = 0; i < VECTORS; i++) sum[i] = SET1(0.0f);
    for (at = 0; at < n; at += 16) {
        outside = rllb_i_scan_outside + 16 - (n - at < 16 ? n - at : 16);
        UNROLL
        for (i = 0; i < VECTORS; i++) {
            V d = SUBV(LD(v + at + i * VW), mean);
            d = AS_FLOAT(WITHOUT(LDI(outside + i * VW), AS_INT(d)));
            sum[i] = ADDV(sum[i], MUL(d, d));
        }
    }
    out->stddev = sqrtf(NAME(sum)(sum) / (float)n);
}

/* ---- quantile --------------------------------------------------------------------------------------------------

   Bits of non-negative floats order as integers. v is never moved: a pass counts what is <= a pivot, and finds the
   values next to it on both sides, until those around the rank in question are neighbours. */

/* Of 16 values, those that `outside` does not exclude by making them NaN, the greatest of bits. */
INLINE void NAME(rank_16)(const float *v, const int32_t *outside, VI after, VI *count, VI *below, VI *above)
{
    int i;

    UNROLL
    for (i = 0; i < VECTORS; i++) {
        VI x = AS_INT(LD(v + i * VW));
        if (outside) x = ORI(x, LDI(outside + i * VW));
#if RLLB_I_STAMP == RLLB_I_AVX512
        {
            __mmask16 in = _mm512_cmpgt_epi32_mask(after, x), out = (__mmask16)~in;
            count[i] = _mm512_mask_add_epi32(count[i], in, count[i], SET1I(1));
            below[i] = _mm512_mask_max_epu32(below[i], in, below[i], x);
            above[i] = _mm512_mask_min_epu32(above[i], out, above[i], x);
        }
#else
        {
            VI in = LESS(x, after);
            count[i] = SUBI(count[i], in);
            below[i] = MAXC(ANDI(in, x), below[i]);
            above[i] = MINC(ORI(in, x), above[i]);
        }
#endif
    }
}

/* How many of v are <= pivot; the greatest of them and the least of the others. There must be both. */
INLINE int32_t NAME(rank)(const float *v, int32_t n, int32_t pivot, int32_t *below, int32_t *above)
{
    VI after = SET1I(pivot + 1), in[VECTORS], down[VECTORS], up[VECTORS];
    int32_t at;
    int i;

    UNROLL
    for (i = 0; i < VECTORS; i++) {
        in[i] = down[i] = SET1I(0);
        up[i] = INFINITE;
    }
    for (at = 0; at + 16 <= n; at += 16) NAME(rank_16)(v + at, NULL, after, in, down, up);
    if (at < n) NAME(rank_16)(v + at, rllb_i_scan_outside + 16 - (n - at), after, in, down, up);
    UNROLL
    for (i = 1; i < VECTORS; i++) {
        in[0] = ADDI(in[0], in[i]);
        down[0] = MAXC(down[0], down[i]);
        up[0] = MINC(up[0], up[i]);
    }
    *below = 0x7f800000 - NAME(first)(NAME(least_lane)(SUBI(INFINITE, down[0])));
    *above = NAME(first)(NAME(least_lane)(up[0]));
    return NAME(total)(in[0]);
}

/* The least and the greatest of v. */
INLINE void NAME(range)(const float *v, int32_t n, int32_t *least, int32_t *greatest)
{
    VI down[VECTORS], up[VECTORS];
    int32_t at;
    int i;

    UNROLL
    for (i = 0; i < VECTORS; i++) {
        down[i] = INFINITE;
        up[i] = SET1I(0);
    }
    for (at = 0; at < n; at += 16) {
        const int32_t *outside = rllb_i_scan_outside + 16 - (n - at < 16 ? n - at : 16);
        UNROLL
        for (i = 0; i < VECTORS; i++) {
            VI x = AS_INT(LD(v + at + i * VW)), out = LDI(outside + i * VW);
            down[i] = MINC(ORI(x, out), down[i]);
            up[i] = MAXC(WITHOUT(out, x), up[i]);
        }
    }
    UNROLL
    for (i = 1; i < VECTORS; i++) {
        down[0] = MINC(down[0], down[i]);
        up[0] = MAXC(up[0], up[i]);
    }
    *least = NAME(first)(NAME(least_lane)(down[0]));
    *greatest = 0x7f800000 - NAME(first)(NAME(least_lane)(SUBI(INFINITE, up[0])));
}

/* As rllb_quantile, for v[n] >= 0 and finite, n >= 1. */
KERNEL float NAME(quantile)(const float *v, int32_t n, double q)
{
    double at = (q > 0 ? (q < 1 ? q : 1) : 0) * (double)(n - 1), low, high;
    int32_t k = (int32_t)at, first, last, next, under = 0, upto = n, pass;

    NAME(range)(v, n, &first, &last); /* the k-th value is in [first, last]; `under` are less, `upto` are <= last */
    next = last;                      /* the least above `last` */
    for (pass = 0; first != last; pass++) {
        int32_t below, above, count = NAME(rank)(v, n, rllb_i_pivot(first, last, k, under, upto, pass), &below, &above);
        next = count > k ? above : next;
        last = count > k ? below : last;
        upto = count > k ? count : upto;
        first = count > k ? first : above;
        under = count > k ? under : count;
    }
    low = (double)rllb_i_float_of(last);
    high = upto > k + 1 ? low : (double)rllb_i_float_of(next);
    return (float)(low + (at - k) * (high - low));
}

static const rllb_i_kernels NAME(kernels) = {
    RLLB_I_SET, NAME(least), NAME(least_idle), NAME(pick), NAME(pick_blocks), NAME(bit),
    NAME(split), NAME(reduce), NAME(quantile)
};

#undef ADDI
#undef ADDV
#undef ANDI
#undef AS_FLOAT
#undef AS_INT
#undef BELOW
#undef COUNTS
#undef INFINITE
#undef INLINE
#undef KERNEL
#undef LD
#undef LDI
#undef LESS
#undef MAXC
#undef MAXV
#undef MINC
#undef MUL
#undef NAME
#undef ORI
#undef POW2
#undef RLLB_I_NAME
#undef RLLB_I_SET
#undef RLLB_I_TARGET
#undef SET1
#undef SET1I
#undef SHIFT23
#undef ST
#undef STI
#undef STU
#undef SUBI
#undef SUBV
#undef TO_FLOAT
#undef UNROLL
#undef V
#undef VECTORS
#undef VI
#undef VW
#undef WITHOUT

#endif /* RLLB_I_STAMP */

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
