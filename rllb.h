/* rllb.h - v0.1.0 - the ground floor of rllb: what every balancer and every learner stands on

   rllb is an embeddable reinforcement-learning toolkit for load balancing, in C, as three single headers:

       rllb.h      status codes, memory, random numbers, statistics, fairness, classical policies   (this file)
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
       >>fairness  five ways to say how even a load is
       >>policies  classical balancing policies on a load vector

   CONFIGURATION
       RLLB_IMPLEMENTATION   implementation file    emit the functions
       RLLB_STATIC           every including file   make all functions static (implies a copy per file)
       RLLB_API              every including file   decoration of each function (default: extern or static)
       RLLB_NO_MALLOC        implementation file    no malloc and free behind *_create and *_destroy;
                                                    *_create then answers NULL
       RLLB_MALLOC(bytes)    implementation file    the pair that *_create and *_destroy use; both or neither
       RLLB_FREE(pointer)
   No macro changes the layout of a public struct.

   MEMORY     An object lives in one block that the caller owns. x_size(desc) says how large it must be, x_init(desc,
              mem, size, &out) lays the object out in it; any address will do, alignment (64) happens inside. Both run
              the same layout routine, so they cannot disagree. Nothing is allocated after init. Under
              AddressSanitizer the arrays of a block are kept apart by poisoned gaps; they stay poisoned, so give such
              a block (a local array above all) to ASAN_UNPOISON_MEMORY_REGION before it serves another purpose.
   ERRORS     Cold functions return an rllb_status and leave *out alone unless it is RLLB_OK. Hot functions return an
              index or -1. NULL and numbers out of range are refused, not trusted.
   THREADS    "const" below: any number of threads may call it on one object at once. "owner": one thread at a time
              per object. "setup": before the object is shared. Objects are independent of each other.
                  rllb_version, rllb_status_*, rllb_log, rllb_fairness, rllb_block_*    const (no object)
                  rllb_policy_size, _name, _kind_of, _desc_default                      const (no object)
                  rllb_rng_*, rllb_stats_*, rllb_decay_*, rllb_p2_*, rllb_quantile      owner
                  rllb_carve*, rllb_policy_init, _create, _destroy                      setup
                  rllb_policy_choose, _reset                                            owner
   DETERMINISM  The same seed and stream give the same numbers on every machine; functions that call libm
              (rllb_rng_exponential, rllb_rng_normal, rllb_fairness) give the same on every machine with the same libm.
   LIMITS     At most 65,536 servers per policy. The ABI is not stable: build from source, in one go.

   Licence: MIT or public domain, as you like; full text at the end of the file. */

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
    X(ERROR_EMPTY, "there is no data")

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

/* How even n non-negative values (loads, delays) are; larger is fairer. With mean m, greatest M, population
   variance v:
       JAIN          m^2 / mean(x^2), in [1/n, 1]                  Jain, Chiu and Hawe 1984
       PRODUCT       prod(x / M), in [0, 1]                        Bossaer; CIKM'22 Eq. 14
       SINE          prod(sin(pi x / (2 M))), in [0, 1]            "G", Reinforced Workload Distribution Fairness
       VARIANCE      -v, at most 0                                 Markov potential game, NeurIPS'22
       LOG_VARIANCE  -log(v + 1e-6), at most 13.8: the gradient near equality does not vanish
   All values zero is as fair as can be: 1, 1, 1, 0, 13.8. */
typedef enum rllb_fairness_kind {
    RLLB_FAIRNESS_JAIN,
    RLLB_FAIRNESS_PRODUCT,
    RLLB_FAIRNESS_SINE,
    RLLB_FAIRNESS_VARIANCE,
    RLLB_FAIRNESS_LOG_VARIANCE,
    RLLB_FAIRNESS_NUM
} rllb_fairness_kind;

/* NaN if n < 1, a value is negative or not finite, or the kind is none of the above. */
RLLB_API double rllb_fairness(rllb_fairness_kind kind, const float *values, int32_t n);

/* ---- policies ---------------------------------------------------------------------------------------------- */

/* The shape of whatever picks a server for one request: observation in, server index out. Classical policies,
   trained agents and a user's own rule all fit it. */
typedef int32_t (*rllb_choose_fn)(void *self, const float *observation, int32_t observations);

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

#ifdef __cplusplus
}
#endif

#endif /* RLLB_H: stop here if you only use the API */

/* ================================================================================================================
   Implementation */
#if (defined(RLLB_IMPLEMENTATION) || defined(RLLB_STATIC)) && !defined(RLLB_I_DONE)
#define RLLB_I_DONE

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

#ifdef __cplusplus
}
#endif

#endif /* RLLB_I_DONE */

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
