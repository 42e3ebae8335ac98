/* rllb_nn.h - v0.1.0 - the learners of rllb: networks, optimisers, replay memories, the DQN family, soft actor-critic,
   cooperating agents (VDN, QMIX), policies that serve, model files

   A leaf on top of rllb.h. It knows nothing of servers and flows: observations and actions are vectors. Sizes are
   known at run time only, kernels are chosen for the processor at init, one core at a time, no BLAS.

   It is not a tensor framework: there is no graph and no automatic differentiation. What is here is what a
   balancing policy needs, and it is checked against PyTorch.

   DO THIS
       in exactly one C or C++ file:     #define RLLB_IMPLEMENTATION
                                         #include "rllb.h"
                                         #include "rllb_nn.h"
       and link with -lm.  The header reads itself again to stamp out its kernels: keep its name, or define
       RLLB_NN_FILE as the name under which the compiler finds it.

   A COMPLETE PROGRAM (compiled and run by the tests): learn which of two servers answers faster

       #define RLLB_IMPLEMENTATION
       #include "rllb.h"
       #include "rllb_nn.h"
       #include <stdio.h>

       int main(void)
       {
           rllb_nn_dqn_desc desc;
           rllb_nn_dqn *agent;
           rllb_rng world;
           float now[2], next[2];
           int i;

           rllb_nn_dqn_desc_default(&desc);
           desc.net.inputs = 2;
           desc.net.outputs = 2;
           desc.gamma = -1; // a bandit: nothing follows from an action
           agent = rllb_nn_dqn_create(&desc);
           if (!agent) return 1;
           rllb_rng_init(&world, 1, 0);
           now[0] = now[1] = 0.5f;
           for (i = 0; i < 2000; i++) {
               int32_t action = rllb_nn_dqn_act(agent, now, NULL);
               float reward = -now[action];
               next[0] = rllb_rng_float(&world);
               next[1] = rllb_rng_float(&world);
               rllb_nn_dqn_observe(agent, now, action, reward, next, NULL, false, false);
               rllb_nn_dqn_update(agent, NULL);
               now[0] = next[0];
               now[1] = next[1];
           }
           now[0] = 0.9f;
           now[1] = 0.1f;
           printf("delays 0.9 and 0.1: server %d\n", (int)rllb_nn_dqn_best(agent, now, NULL));
           rllb_nn_dqn_destroy(agent);
           return 0;
       }

   CONTENTS OF THE IMPLEMENTATION (search for the tag)
       >>isa        which kernels this processor can run
       >>kernels    the arithmetic, stamped once per instruction set from the template at the end of the file
       >>tensors    matrices in panels, and the public operations on them
       >>network    layers, forward, backward
       >>losses     mean squared error and Huber
       >>schedules  numbers that change over time
       >>optimiser  SGD, RMSprop, Adam, AdamW, clipping
       >>replay     uniform and prioritised, n-step
       >>dqn        DQN, Double, Dueling
       >>episodes   a ring of whole episodes of several agents
       >>agents     what agents see and do, and carry from step to step
       >>mixer      monotonic mixing of values
       >>qmix       independent Q-learning, VDN, QMIX
       >>sac        soft actor-critic, discrete and continuous
       >>search     evolution strategies
       >>policies   one agent's network, serving
       >>files      safetensors in and out of memory

   CONFIGURATION
       RLLB_IMPLEMENTATION, RLLB_STATIC, RLLB_API, RLLB_NO_MALLOC    as in rllb.h
       RLLB_NN_NO_SIMD    implementation file    leave out all intrinsics; only the generic kernels remain
       RLLB_NN_FILE       implementation file    this file's name, default "rllb_nn.h"

   WORDS
       panel         16 columns of a matrix, stored row after row: one cache line per row. A matrix is its panels, one
                     after the other; columns past the last are zero. A single row is a plain padded array.
       work          the scratch of one thread: activations and, for training, gradients by them
       target net    the slowly following copy that a DQN bootstraps from
       set           a network for any number of items (servers): the same weights for each, and a context of all
       decision      one number that an agent sets: a choice of several, or a number in (-1, 1); one for each server
       cell          one agent at one step of one sequence of a batch
   MEMORY     As in rllb.h: x_size, x_init, one block, nothing afterwards. A network with its parameters, a work area
              and a learner are separate objects; a learner holds all it needs.
   ERRORS     As in rllb.h. A network fed with NaN answers NaN; rllb_nn_best still answers a valid action.
   THREADS    rllb_nn_net, once set up      const: any number of threads, each with a work of its own
              rllb_nn_work, _opt, _replay, _dqn, _episodes, _qmix, _sac, _search, _policy    owner: one thread at a time
              *_init, *_create, *_load      setup
   DETERMINISM  Same seed, same machine, same instruction set: same bits, always. With `portable` set: same bits on
              every machine (no fused multiply-add, one order of summation, exp, tanh and powers of our own), at the
              price of speed. Of libm only the square root, which is exact, has a part in that; log-softmax (logf),
              prioritised replay (powf), cosine schedules (cos), normal draws (log), soft actor-critic (expf, logf,
              log1pf, tanhf) and logarithmic actions (pow) rest on the libm in use.
   COST       Measured figures with the machine named: README.md. A forward pass of 9-64-64-1: under 0.2 us.
   LIMITS     Little-endian machines. Dense, dueling, layer-normalised and recurrent (GRU) networks; float32. At most 8
              hidden layers, 4 behind a GRU, 65,536 units a layer, 65,536 actions; 64 choices of a decision, 1,024
              agents that learn together.

   Licence: MIT or public domain, as you like; full text at the end of the file. */

#ifndef RLLB_NN_I_STAMP /* the template at the end is read with this set; everything up to it is then skipped */
#ifndef RLLB_NN_H
#define RLLB_NN_H

#include "rllb.h"

#if RLLB_VERSION != 100
#error "rllb_nn.h and rllb.h are of different versions"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- instruction sets ---------------------------------------------------------------------------------------- */

/* DEFAULT is the widest that processor and build have. GENERIC is plain C, everywhere. */
typedef enum rllb_nn_isa {
    RLLB_NN_ISA_DEFAULT,
    RLLB_NN_ISA_GENERIC,
    RLLB_NN_ISA_SSE2,
    RLLB_NN_ISA_AVX2, /* with FMA, unless portable */
    RLLB_NN_ISA_AVX512, /* portable: as AVX2 */
    RLLB_NN_ISA_NEON,
    RLLB_NN_ISA_NUM
} rllb_nn_isa;

/* The arithmetic for one instruction set: constant, shared by all objects and threads. */
typedef struct rllb_nn_kernels rllb_nn_kernels;

/* NULL if processor or build lack the set. portable: same bits on every machine. */
RLLB_API const rllb_nn_kernels *rllb_nn_kernels_query(rllb_nn_isa isa, bool portable);
/* "avx2", "avx2_portable", ...; "none" for NULL. */
RLLB_API const char *rllb_nn_kernels_name(const rllb_nn_kernels *k);

/* ---- tensors --------------------------------------------------------------------------------------------------- */

enum { RLLB_NN_PANEL = 16 };

/* A matrix over the caller's memory, in panels: element (r, c) is data[(c / 16) * rows * 16 + r * 16 + c % 16].
   data is aligned to 64 bytes and holds rllb_nn_tensor_floats floats; those past the last column are zero. */
typedef struct rllb_nn_tensor {
    float *data;
    int32_t rows, cols;
} rllb_nn_tensor;

RLLB_API size_t rllb_nn_tensor_floats(int32_t rows, int32_t cols);
/* Between panels and row-major arrays [rows][cols] with `stride` floats from row to row. */
RLLB_API void rllb_nn_tensor_load(const rllb_nn_tensor *t, const float *from, size_t stride);
RLLB_API void rllb_nn_tensor_save(const rllb_nn_tensor *t, float *to, size_t stride);

/* The three products training needs. scratch: rllb_nn_tensor_floats(b->cols, b->rows) floats for NT, else unused. */
typedef enum rllb_nn_product {
    RLLB_NN_NN, /* C = A B      A [m][k], B [k][n] */
    RLLB_NN_TN, /* C = A^T B    A [k][m], B [k][n] */
    RLLB_NN_NT  /* C = A B^T    A [m][k], B [n][k] */
} rllb_nn_product;

/* C = (accumulate ? C : 0) + product. Shapes must fit, A and B must not overlap C. */
RLLB_API rllb_status rllb_nn_multiply(const rllb_nn_kernels *k, rllb_nn_product form, const rllb_nn_tensor *a,
                                      const rllb_nn_tensor *b, const rllb_nn_tensor *c, bool accumulate,
                                      float *scratch);
/* y[out] = x[in] W + bias, W [in][out]. x and y: padded to 16, aligned to 64 bytes. */
RLLB_API void rllb_nn_multiply_vector(const rllb_nn_kernels *k, const float *x, const rllb_nn_tensor *w,
                                      const float *bias, float *y);
/* Softmax of every row, or its logarithm, in place. */
RLLB_API void rllb_nn_softmax(const rllb_nn_kernels *k, const rllb_nn_tensor *t, bool logarithm);
/* sums[cols] of every column; sums padded to 16, aligned to 64 bytes. */
RLLB_API void rllb_nn_column_sums(const rllb_nn_kernels *k, const rllb_nn_tensor *t, float *sums);

typedef enum rllb_nn_activation {
    RLLB_NN_ACTIVATION_DEFAULT, /* RELU between layers, LINEAR at the end */
    RLLB_NN_LINEAR,
    RLLB_NN_RELU,
    RLLB_NN_LEAKY_RELU,
    RLLB_NN_TANH,
    RLLB_NN_SIGMOID,
    RLLB_NN_ELU,
    RLLB_NN_ACTIVATION_NUM
} rllb_nn_activation;

/* t = act(t), and d = d * act'(x) written by the output y = act(x). leak: slope of LEAKY_RELU below zero. */
RLLB_API void rllb_nn_activate(const rllb_nn_kernels *k, rllb_nn_activation kind, const rllb_nn_tensor *t, float leak);
RLLB_API void rllb_nn_activate_back(const rllb_nn_kernels *k, rllb_nn_activation kind, const rllb_nn_tensor *y,
                                    const rllb_nn_tensor *d, float leak);
/* "leaky_relu" and back; NULL and -1 for what is none. */
RLLB_API const char *rllb_nn_activation_name(rllb_nn_activation kind);
RLLB_API int32_t rllb_nn_activation_of(const char *name);

/* ---- networks -------------------------------------------------------------------------------------------------- */

typedef enum rllb_nn_start {
    RLLB_NN_START_DEFAULT,   /* KAIMING */
    RLLB_NN_START_KAIMING,   /* weights and biases U(-b, b), b = 1/sqrt(inputs): PyTorch's Linear */
    RLLB_NN_START_XAVIER,    /* weights U(-b, b), b = sqrt(6/(inputs + outputs)), biases 0 (Glorot 2010, Eq. 16) */
    RLLB_NN_START_ORTHOGONAL, /* weights with orthonormal rows or columns times sqrt 2 (1 at the end), biases 0 */
    RLLB_NN_START_NUM
} rllb_nn_start;

enum { RLLB_NN_HIDDEN_MAX = 8, RLLB_NN_AFTER_MAX = 4, RLLB_NN_UNITS_MAX = 65536 };

/* Three shapes:
       plain       hidden layers, outputs; or a dueling head
       recurrent   hidden layers, a GRU, layers `after` it, outputs (gru > 0)
       a set       (item_inputs > 0) of any number of items: servers. An observation is `inputs` numbers that concern
                   all, then item_inputs for each item. Every item goes through the hidden layers (and the GRU, with a
                   state of its own), all by the same weights; mean and greatest over the items, and the inputs that
                   concern all, are the context; the first layer of `after` sees an item and the context; the last gives
                   item_outputs for each item. `outputs` more, behind them, come from the context alone.
                   Permuting the items permutes the items' outputs and leaves the others, bit for bit. (The mean
                   counts in steps of 2^-26, and what is beyond 16,384 as that.) */

typedef struct rllb_nn_net_desc {
    int32_t inputs, outputs;            /* 1 ... RLLB_NN_UNITS_MAX; no default, 0 allowed for a set */
    int32_t item_inputs, item_outputs;  /* a set: both above 0 */
    int32_t hidden[RLLB_NN_HIDDEN_MAX]; /* widths up to the first 0; all 0: 64, 64; hidden[0] = -1: no hidden layer */
    int32_t gru;                        /* units; 0: none */
    int32_t after[RLLB_NN_AFTER_MAX];   /* widths up to the first 0, with GRU or set; none: the outputs come next (in a
                                           set, one as wide as what is before it) */
    rllb_nn_activation activation;      /* after every hidden layer; default RELU */
    rllb_nn_activation output_activation; /* default LINEAR */
    float leak;                         /* LEAKY_RELU below zero, in (0, 1]; default 0.01 */
    bool layer_norm;                    /* hidden layers: dense, normalise, activation */
    int32_t dueling;                    /* width of the hidden layer of both streams; 0: no dueling head; not in a set.
                                           Q = V + A - mean(A) (Wang et al. 2016, Eq. 9), the mean over a head */
    int32_t heads;                      /* outputs of a plain or recurrent net are so many equal parts; default 1 */
    bool normalise;                     /* inputs to mean 0 and deviation 1 by rllb_nn_net_observe, cut at 10 */
    rllb_nn_start start;
    rllb_nn_isa isa;
    bool portable;
    uint64_t seed, stream;              /* of the initial parameters */
} rllb_nn_net_desc;

typedef struct rllb_nn_net rllb_nn_net;

RLLB_API void rllb_nn_net_desc_default(rllb_nn_net_desc *desc); /* all zero */
RLLB_API size_t rllb_nn_net_size(const rllb_nn_net_desc *desc); /* 0 if the descriptor is wrong */
RLLB_API rllb_status rllb_nn_net_init(const rllb_nn_net_desc *desc, void *mem, size_t size, rllb_nn_net **out);
RLLB_API rllb_nn_net *rllb_nn_net_create(const rllb_nn_net_desc *desc);
RLLB_API void rllb_nn_net_destroy(rllb_nn_net *net);
RLLB_API void rllb_nn_net_query(const rllb_nn_net *net, rllb_nn_net_desc *out); /* defaults filled in */
RLLB_API const rllb_nn_kernels *rllb_nn_net_kernels(const rllb_nn_net *net);
/* Draws new initial parameters, as init does. */
RLLB_API void rllb_nn_net_reset(rllb_nn_net *net, uint64_t seed, uint64_t stream);
/* All parameters as one padded array of this many floats (padding included: it is zero and stays so); a gradient
   has the same layout. The number a paper would give is rllb_nn_net_parameters. */
RLLB_API float *rllb_nn_net_data(rllb_nn_net *net);
RLLB_API size_t rllb_nn_net_floats(const rllb_nn_net *net);
RLLB_API int64_t rllb_nn_net_parameters(const rllb_nn_net *net);
/* Fails with ERROR_SHAPE unless both have the same descriptor, seeds aside. */
RLLB_API rllb_status rllb_nn_net_copy(rllb_nn_net *to, const rllb_nn_net *from);

/* Numbers in a row of observations, of outputs, of GRU state, for so many items (not looked at unless it is a set). */
RLLB_API int32_t rllb_nn_net_inputs(const rllb_nn_net *net, int32_t items);
RLLB_API int32_t rllb_nn_net_outputs(const rllb_nn_net *net, int32_t items);
RLLB_API int32_t rllb_nn_net_states(const rllb_nn_net *net, int32_t items);
/* One more observation for the running mean and deviation that `normalise` goes by; they are saved with the network.
   Frozen is who does not call this. raw [inputs + item_inputs]: nonzero where a number is to stay as it is; or NULL. */
RLLB_API rllb_status rllb_nn_net_observe(rllb_nn_net *net, const float *x, int32_t items, const unsigned char *raw);

/* Scratch for passes of up to `rows` rows; `train` adds what backward needs. */
typedef struct rllb_nn_work rllb_nn_work;

RLLB_API size_t rllb_nn_work_size(const rllb_nn_net *net, int32_t rows, bool train);
RLLB_API rllb_status rllb_nn_work_init(const rllb_nn_net *net, int32_t rows, bool train, void *mem, size_t size,
                                       rllb_nn_work **out);
RLLB_API rllb_nn_work *rllb_nn_work_create(const rllb_nn_net *net, int32_t rows, bool train);
RLLB_API void rllb_nn_work_destroy(rllb_nn_work *work);
/* The same for sequences: `rows` of them side by side, of up to `steps` steps; up to `items` items of a set, else 1. */
RLLB_API size_t rllb_nn_pass_size(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items, bool train);
RLLB_API rllb_status rllb_nn_pass_init(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items, bool train,
                                       void *mem, size_t size, rllb_nn_work **out);
RLLB_API rllb_nn_work *rllb_nn_pass_create(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items,
                                           bool train);

/* x [rows][inputs] -> y [rows][outputs], both row-major. Hot; rows above the work's are cut off. */
RLLB_API void rllb_nn_forward(const rllb_nn_net *net, rllb_nn_work *work, const float *x, int32_t rows, float *y);
/* Once after forward with the same net, work and rows: dy [rows][outputs] -> gradient[rllb_nn_net_floats], overwritten,
   aligned to 64 bytes; dx [rows][inputs], or NULL. The work must have been made with `train`. */
RLLB_API void rllb_nn_backward(const rllb_nn_net *net, rllb_nn_work *work, const float *dy, int32_t rows,
                               float *gradient, float *dx);
/* Sequences through a network. Steps of unequal length are padded at the end with zeros, and with zero in dy: then they
   add exactly nothing to the gradient. */
typedef struct rllb_nn_pass {
    const float *x;        /* [steps][rows][rllb_nn_net_inputs] */
    int32_t rows, steps;   /* sequences side by side; default 1 step */
    int32_t items;         /* of a set; default: as many as the work has room for */
    const int32_t *counts; /* [rows] of a set: how many of the items are there, the others are passed over; NULL: all */
    float *state;          /* [rows][rllb_nn_net_states] before the first step, and out, after the last; NULL: zero */
    int32_t burn;          /* backward: nothing flows into the first `burn` steps, which only warm the state up */
} rllb_nn_pass;

/* y [steps][rows][rllb_nn_net_outputs]. Hot; what exceeds the work is cut off. */
RLLB_API void rllb_nn_pass_forward(const rllb_nn_net *net, rllb_nn_work *work, const rllb_nn_pass *pass, float *y);
/* Back-propagation through time. Once after pass_forward with the same pass, whose state is not looked at. */
RLLB_API void rllb_nn_pass_backward(const rllb_nn_net *net, rllb_nn_work *work, const rllb_nn_pass *pass,
                                    const float *dy, float *gradient, float *dx);
/* Index of the largest output for one observation; with a mask [outputs], of the largest one allowed (nonzero).
   Ties: lowest index. Outputs that are NaN lose to any number. -1 only if the mask allows nothing, or the
   network is a set. A GRU starts from zero. */
RLLB_API int32_t rllb_nn_best(const rllb_nn_net *net, rllb_nn_work *work, const float *x, const unsigned char *mask);

/* An rllb_choose_fn over a network: self points to one of these, one per thread. */
typedef struct rllb_nn_greedy {
    const rllb_nn_net *net;
    rllb_nn_work *work;
} rllb_nn_greedy;

RLLB_API int32_t rllb_nn_greedy_choose(void *self, const float *observation, int32_t observations);

/* ---- losses ---------------------------------------------------------------------------------------------------- */

typedef enum rllb_nn_loss {
    RLLB_NN_LOSS_DEFAULT, /* HUBER */
    RLLB_NN_HUBER,        /* e^2 / 2 where |e| < beta, else beta (|e| - beta / 2), over beta: SmoothL1 */
    RLLB_NN_MSE,          /* e^2 */
    RLLB_NN_LOSS_NUM
} rllb_nn_loss;

/* Mean over the n elements whose mask is nonzero (NULL: all), and its gradient by `predicted` (0 where masked).
   beta: Huber's; 0 means 1. Nothing unmasked: 0. gradient may be NULL, and may be `predicted` itself. */
RLLB_API float rllb_nn_loss_mean(rllb_nn_loss kind, float beta, const float *predicted, const float *target,
                                 const unsigned char *mask, size_t n, float *gradient);

/* ---- schedules ------------------------------------------------------------------------------------------------- */

typedef enum rllb_nn_curve {
    RLLB_NN_CONSTANT,    /* from */
    RLLB_NN_LINEAR_DECAY, /* from -> to over `steps`, then to */
    RLLB_NN_COSINE,      /* the same along half a cosine (Loshchilov and Hutter 2017, Eq. 5, no restarts) */
    RLLB_NN_EXPONENTIAL, /* from * rate^step, not beyond to */
    RLLB_NN_CURVE_NUM
} rllb_nn_curve;

typedef struct rllb_nn_schedule {
    rllb_nn_curve curve;
    double from, to, rate;
    int64_t steps, warmup; /* the first `warmup` steps rise linearly to from */
} rllb_nn_schedule;

/* The value at a step, counted from 0; steps below 0 count as 0. */
RLLB_API double rllb_nn_schedule_at(const rllb_nn_schedule *s, int64_t step);

/* ---- optimisers ------------------------------------------------------------------------------------------------ */

typedef enum rllb_nn_opt_kind {
    RLLB_NN_OPT_DEFAULT, /* ADAM */
    RLLB_NN_ADAM,        /* Kingma and Ba 2015; weight_decay is added to the gradient */
    RLLB_NN_ADAMW,       /* Loshchilov and Hutter 2019: weight_decay shrinks the weights themselves */
    RLLB_NN_SGD,         /* momentum as PyTorch: m = momentum m + g, p -= lr m */
    RLLB_NN_RMSPROP,     /* v = alpha v + (1 - alpha) g^2, p -= lr g / (sqrt v + eps) */
    RLLB_NN_OPT_NUM
} rllb_nn_opt_kind;

typedef struct rllb_nn_opt_desc {
    rllb_nn_opt_kind kind;
    rllb_nn_schedule lr;  /* lr.from 0: 1e-3, but SGD and RMSprop 1e-2 */
    float beta1, beta2;   /* Adam's; default 0.9, 0.999 */
    float alpha;          /* RMSprop's; default 0.99 */
    float momentum;       /* SGD's; default 0 */
    float eps;            /* default 1e-8 */
    float weight_decay;   /* default 0, but AdamW 0.01 */
    float clip_norm;      /* scale the gradient so that its global norm is at most this; 0: never */
    rllb_nn_isa isa;
    bool portable;
} rllb_nn_opt_desc;

typedef struct rllb_nn_opt rllb_nn_opt;

/* For `floats` parameters, a multiple of 16 (rllb_nn_net_floats). */
RLLB_API size_t rllb_nn_opt_size(const rllb_nn_opt_desc *desc, size_t floats);
RLLB_API rllb_status rllb_nn_opt_init(const rllb_nn_opt_desc *desc, size_t floats, void *mem, size_t size,
                                      rllb_nn_opt **out);
RLLB_API rllb_nn_opt *rllb_nn_opt_create(const rllb_nn_opt_desc *desc, size_t floats);
RLLB_API void rllb_nn_opt_destroy(rllb_nn_opt *opt);
RLLB_API void rllb_nn_opt_query(const rllb_nn_opt *opt, rllb_nn_opt_desc *out);
/* One step on data[floats] along gradient[floats]; both aligned to 64 bytes. *norm: the gradient's norm before
   clipping, may be NULL. A gradient that is not finite changes nothing: ERROR_NOT_FINITE. */
RLLB_API rllb_status rllb_nn_opt_step(rllb_nn_opt *opt, float *data, const float *gradient, float *norm);
RLLB_API int64_t rllb_nn_opt_steps(const rllb_nn_opt *opt);

/* ---- replay ---------------------------------------------------------------------------------------------------- */

/* A ring of transitions. Prioritised: proportional sampling from a sum tree with importance weights (Schaul et al.
   2016, Eq. 1 and Section 3.4, normalised by the batch's largest). */
typedef struct rllb_nn_replay_desc {
    int32_t capacity;      /* transitions; default 50,000 */
    int32_t observations;  /* floats per observation; no default */
    int32_t actions;       /* only with masks: their length */
    bool masks;            /* keep a mask of allowed next actions per transition */
    int32_t n_step;        /* rewards summed per transition; default 1 */
    float gamma;           /* discount in those sums; default 0.99, negative: 0 */
    bool prioritized;
    float alpha;           /* 0 ... 1, default 0.6: how much priorities count */
    rllb_nn_schedule beta; /* importance exponent over sampled batches; default 0.4 -> 1 over 100,000 */
    uint64_t seed, stream;
} rllb_nn_replay_desc;

typedef struct rllb_nn_replay rllb_nn_replay;

/* One sampled batch, in the caller's arrays. */
typedef struct rllb_nn_batch {
    float *obs, *next;      /* [rows][observations] */
    int32_t *action;        /* [rows] */
    float *reward;          /* [rows] discounted sum of n_step rewards */
    float *discount;        /* [rows] what to multiply the value of `next` with: gamma^n, 0 if terminated */
    float *weight;          /* [rows] importance; 1 if uniform */
    int32_t *index;         /* [rows] for rllb_nn_replay_update */
    unsigned char *mask;    /* [rows][actions] allowed next actions, or NULL */
} rllb_nn_batch;

RLLB_API size_t rllb_nn_replay_size(const rllb_nn_replay_desc *desc);
RLLB_API rllb_status rllb_nn_replay_init(const rllb_nn_replay_desc *desc, void *mem, size_t size,
                                         rllb_nn_replay **out);
RLLB_API rllb_nn_replay *rllb_nn_replay_create(const rllb_nn_replay_desc *desc);
RLLB_API void rllb_nn_replay_destroy(rllb_nn_replay *r);
RLLB_API void rllb_nn_replay_query(const rllb_nn_replay *r, rllb_nn_replay_desc *out);
/* Adds one step of one stream of experience; the arrays are copied. terminated: nothing follows, by the rules of
   the world. truncated: the episode was cut, what follows still counts. Either one closes the n-step window. */
RLLB_API rllb_status rllb_nn_replay_observe(rllb_nn_replay *r, const float *obs, int32_t action, float reward,
                                            const float *next, const unsigned char *next_mask, bool terminated,
                                            bool truncated);
RLLB_API int32_t rllb_nn_replay_count(const rllb_nn_replay *r);
/* Draws rows transitions with replacement; ERROR_EMPTY if there are none. */
RLLB_API rllb_status rllb_nn_replay_sample(rllb_nn_replay *r, int32_t rows, rllb_nn_batch *batch);
/* Sets the priorities of sampled transitions from their errors |delta|. No effect on a uniform replay. */
RLLB_API void rllb_nn_replay_update(rllb_nn_replay *r, const int32_t *index, const float *error, int32_t rows);

/* ---- DQN ------------------------------------------------------------------------------------------------------- */

/* The family of deep Q-networks: DQN (Mnih et al. 2015), Double (van Hasselt et al. 2016, Eq. 4), Dueling (set
   net.dueling), prioritised and n-step. Defaults are those of the three-server study (lr 1e-3, batch 128, Huber,
   clip 1, soft target updates of 0.005, epsilon 1 -> 0.01 by 0.995 an episode). */
typedef struct rllb_nn_dqn_desc {
    rllb_nn_net_desc net;        /* activation default here: LEAKY_RELU */
    rllb_nn_opt_desc opt;        /* clip_norm default here: 1; negative: never */
    rllb_nn_replay_desc replay;  /* observations, actions, gamma, seed: set from the rest */
    bool double_dqn;
    bool masks;                  /* observe takes a mask of allowed actions in the next state */
    float gamma;                 /* default 0.99; negative: 0, a bandit */
    int32_t batch;               /* default 128 */
    int32_t learn_start;         /* transitions before the first update, at most capacity; default: batch */
    float tau;                   /* soft target update after each update; default 0.005 */
    int32_t target_every;        /* > 0: hard target update every so many updates, instead of tau */
    rllb_nn_loss loss;
    rllb_nn_schedule epsilon;    /* default 1 * 0.995^episode, at least 0.01 */
    bool epsilon_per_step;       /* the schedule counts observed steps instead of finished episodes */
    uint64_t seed;               /* of everything: parameters, exploration, replay */
} rllb_nn_dqn_desc;

typedef struct rllb_nn_dqn rllb_nn_dqn;

/* What one update did. */
typedef struct rllb_nn_dqn_report {
    float loss, gradient_norm; /* norm before clipping */
    float mean_q;              /* of the taken actions */
} rllb_nn_dqn_report;

RLLB_API void rllb_nn_dqn_desc_default(rllb_nn_dqn_desc *desc); /* all zero */
RLLB_API size_t rllb_nn_dqn_size(const rllb_nn_dqn_desc *desc);
RLLB_API rllb_status rllb_nn_dqn_init(const rllb_nn_dqn_desc *desc, void *mem, size_t size, rllb_nn_dqn **out);
RLLB_API rllb_nn_dqn *rllb_nn_dqn_create(const rllb_nn_dqn_desc *desc);
RLLB_API void rllb_nn_dqn_destroy(rllb_nn_dqn *agent);
RLLB_API void rllb_nn_dqn_query(const rllb_nn_dqn *agent, rllb_nn_dqn_desc *out);
/* The action to take: random with probability epsilon, else the best. mask as in rllb_nn_best. */
RLLB_API int32_t rllb_nn_dqn_act(rllb_nn_dqn *agent, const float *obs, const unsigned char *mask);
RLLB_API int32_t rllb_nn_dqn_best(rllb_nn_dqn *agent, const float *obs, const unsigned char *mask);
/* Remembers one step. Numbers that are not finite or an action out of range are refused. */
RLLB_API rllb_status rllb_nn_dqn_observe(rllb_nn_dqn *agent, const float *obs, int32_t action, float reward,
                                         const float *next, const unsigned char *next_mask, bool terminated,
                                         bool truncated);
/* One gradient step on one batch. ERROR_EMPTY before learn_start. report may be NULL. */
RLLB_API rllb_status rllb_nn_dqn_update(rllb_nn_dqn *agent, rllb_nn_dqn_report *report);
RLLB_API double rllb_nn_dqn_epsilon(const rllb_nn_dqn *agent);
RLLB_API int64_t rllb_nn_dqn_updates(const rllb_nn_dqn *agent);
RLLB_API int64_t rllb_nn_dqn_episodes(const rllb_nn_dqn *agent);
RLLB_API const rllb_nn_net *rllb_nn_dqn_net(const rllb_nn_dqn *agent);
RLLB_API const rllb_nn_net *rllb_nn_dqn_target(const rllb_nn_dqn *agent);
RLLB_API rllb_nn_replay *rllb_nn_dqn_replay(rllb_nn_dqn *agent);

/* ---- episodes -------------------------------------------------------------------------------------------------- */

/* A ring of whole episodes of several agents that live through the same steps. The oldest make room for new ones. */
typedef struct rllb_nn_episodes_desc {
    int32_t capacity;     /* steps of all episodes together, and one more for each; default 20,000 */
    int32_t episodes;     /* at most so many; default 4,096 */
    int32_t steps;        /* the longest that sample gives; default 256 */
    int32_t agents;       /* default 1 */
    int32_t observations; /* numbers an agent sees; no default */
    int32_t actions;      /* numbers an agent does; no default. An index is a number here */
    int32_t states;       /* numbers of the state of all; default 0 */
    int32_t memories;     /* numbers of recurrent state an agent has before each step; default 0: not kept */
    uint64_t seed, stream;
} rllb_nn_episodes_desc;

/* One step of all agents. Arrays are copied. */
typedef struct rllb_nn_step {
    const float *obs, *next;     /* [agents][observations] before and after */
    const float *state, *next_state; /* [states] */
    const float *action;         /* [agents][actions] */
    const float *reward;         /* [agents] */
    const float *memory;         /* [agents][memories] or NULL: zero */
    int32_t items;               /* of a set; kept as it is at the first step of the episode */
    bool terminated, truncated;  /* by the rules of the world; cut: what follows still counts */
} rllb_nn_step;

/* Sequences in the caller's arrays: time first, then row, then agent. What lies past a row's end is zero. */
typedef struct rllb_nn_sequences {
    float *obs;                /* [steps + 1][rows][agents][observations] */
    float *state;              /* [steps + 1][rows][states] */
    float *action;             /* [steps][rows][agents][actions] */
    float *reward;             /* [steps][rows][agents] */
    float *before;             /* [rows][agents][actions] the action before the first step; -1 where there is none */
    float *memory;             /* [rows][agents][memories] */
    unsigned char *filled;     /* [steps][rows] is there a step? */
    unsigned char *terminated; /* [steps][rows] */
    int32_t *items;            /* [rows] */
    int32_t *slot, *length;    /* [rows] where in the ring it begins; its steps */
    int32_t steps;             /* out: of the longest row */
} rllb_nn_sequences;

typedef struct rllb_nn_episodes rllb_nn_episodes;

/* As of all objects: bytes, 0 if the descriptor is wrong; made in memory of yours; made; freed; defaults filled in. */
RLLB_API size_t rllb_nn_episodes_size(const rllb_nn_episodes_desc *desc);
RLLB_API rllb_status rllb_nn_episodes_init(const rllb_nn_episodes_desc *desc, void *mem, size_t size,
                                           rllb_nn_episodes **out);
RLLB_API rllb_nn_episodes *rllb_nn_episodes_create(const rllb_nn_episodes_desc *desc);
RLLB_API void rllb_nn_episodes_destroy(rllb_nn_episodes *e);
RLLB_API void rllb_nn_episodes_query(const rllb_nn_episodes *e, rllb_nn_episodes_desc *out);
/* One more step of the episode that is going on; it is there to be sampled from its end on. One that would outgrow the
   ring ends as if truncated. Numbers that are not finite are refused, and the episode goes on. */
RLLB_API rllb_status rllb_nn_episodes_observe(rllb_nn_episodes *e, const rllb_nn_step *step);
RLLB_API int32_t rllb_nn_episodes_count(const rllb_nn_episodes *e); /* finished episodes */
RLLB_API int32_t rllb_nn_episodes_steps(const rllb_nn_episodes *e); /* their steps */
/* rows draws with replacement. window 0: whole episodes, all alike, cut at desc.steps. Else windows of at most so many
   steps: an episode by its length, and in it any place where the window fits, or all of it; with 1 every step of the
   ring alike. ERROR_EMPTY if there are none. */
RLLB_API rllb_status rllb_nn_episodes_sample(rllb_nn_episodes *e, int32_t rows, int32_t window,
                                             rllb_nn_sequences *batch);

/* ---- what agents see and do ------------------------------------------------------------------------------------ */

enum { RLLB_NN_CHOICES_MAX = 64, RLLB_NN_COMMON_MAX = 8 };

/* Plain: `observations` numbers are seen, `heads` decisions made at a time. A set: item_observations more of each item
   are seen, one decision is made for each item, and `common` ones for all; no heads. A decision is one of `choices`, or
   a number in (-1, 1) where choices is 0. An action is an array of decisions: of the items (room for `items` of them),
   then the common ones. */
typedef struct rllb_nn_space {
    int32_t observations, item_observations;
    int32_t items;     /* of a set: the most */
    int32_t heads;     /* plain: default 1 */
    int32_t common;    /* of a set; at most RLLB_NN_COMMON_MAX */
    int32_t choices;   /* at most RLLB_NN_CHOICES_MAX; 0: continuous */
    bool last_action;  /* the decisions before are seen too, choices as one-hot */
    bool agent_id;     /* which agent it is is seen too, as one-hot */
} rllb_nn_space;

RLLB_API int32_t rllb_nn_space_observations(const rllb_nn_space *s); /* numbers of an observation */
RLLB_API int32_t rllb_nn_space_actions(const rllb_nn_space *s);      /* numbers of an action */

/* ---- value-based agents: independent Q-learning, VDN, QMIX ------------------------------------------------------- */

typedef enum rllb_nn_mix {
    RLLB_NN_MIX_NONE, /* each agent by its own reward; its heads all learn the same return (Tavakoli et al. 2018) */
    RLLB_NN_MIX_SUM,  /* VDN (Sunehag et al. 2018): the sum of all agents' and heads' values */
    RLLB_NN_MIX_QMIX, /* Rashid et al. 2018: monotonic in each of them, weights from the state */
    RLLB_NN_MIX_NUM
} rllb_nn_mix;

/* Centralised training, decentralised execution: the mixer is needed to learn only. Defaults are those of the CIKM'22
   study where it names any: gamma 0.99, lambda 0.6, Adam 1e-3, batches of 12 episodes. */
typedef struct rllb_nn_qmix_desc {
    rllb_nn_space space;
    rllb_nn_net_desc net;     /* of an agent; inputs, outputs, heads, seed are set from the rest */
    int32_t agents;           /* default 1 */
    bool apart;               /* every agent has a network of its own; else they share one */
    rllb_nn_mix mix;
    int32_t states;           /* QMIX: numbers of the state; 0: it is the agents' observations, one after the other */
    int32_t embed;            /* QMIX: width of the mixer; default 32 */
    int32_t hyper;            /* QMIX: hidden width of the networks that give its weights; default 64; negative: none */
    bool double_q;            /* next actions chosen by the learning networks (van Hasselt et al. 2016) */
    bool bounded;             /* softmax over each head's values: in (0, 1), as the study's code has it */
    float gamma, lambda;      /* default 0.99 and 0.6; negative: 0 */
    bool sampled;             /* actions are drawn from the softmax of value / temperature, not epsilon-greedy */
    float temperature;        /* default 1 */
    rllb_nn_schedule epsilon; /* over steps; default 1 -> 0.05 over 10,000 */
    rllb_nn_opt_desc opt;     /* clip_norm default here: 10; negative: never */
    rllb_nn_loss loss;        /* default here: MSE */
    rllb_nn_episodes_desc replay; /* capacity, episodes, steps; the rest is set */
    int32_t batch;            /* sequences; default 12 */
    int32_t window;           /* steps of a sequence; default 0: whole episodes */
    int32_t burn;             /* recurrent: the first steps of a window only warm the state up */
    bool stored;              /* recurrent: windows start from the state the agent had, not from zero */
    int32_t learn_start;      /* episodes before the first update; default: batch */
    float tau;                /* soft target update after each update; 0: hard ones */
    int32_t target_every;     /* hard ones every so many updates; default 200 */
    uint64_t seed;
} rllb_nn_qmix_desc;

typedef struct rllb_nn_qmix rllb_nn_qmix;

typedef struct rllb_nn_qmix_report {
    float loss, gradient_norm; /* norm before clipping */
    float mean_value, mean_target; /* of what is mixed */
} rllb_nn_qmix_report;

RLLB_API void rllb_nn_qmix_desc_default(rllb_nn_qmix_desc *desc); /* all zero */
RLLB_API size_t rllb_nn_qmix_size(const rllb_nn_qmix_desc *desc);
RLLB_API rllb_status rllb_nn_qmix_init(const rllb_nn_qmix_desc *desc, void *mem, size_t size, rllb_nn_qmix **out);
RLLB_API rllb_nn_qmix *rllb_nn_qmix_create(const rllb_nn_qmix_desc *desc);
RLLB_API void rllb_nn_qmix_destroy(rllb_nn_qmix *q);
RLLB_API void rllb_nn_qmix_query(const rllb_nn_qmix *q, rllb_nn_qmix_desc *out);
/* What all agents do now: obs [agents][observations] -> action [agents][actions]; items of a set. Carries recurrent
   states and last actions along from the start of the episode on. explore false: the best, no draw is made. */
RLLB_API rllb_status rllb_nn_qmix_act(rllb_nn_qmix *q, const float *obs, int32_t items, bool explore, float *action);
/* Forgets the episode: states and last actions. An end by observe does so too. */
RLLB_API void rllb_nn_qmix_begin(rllb_nn_qmix *q);
/* Remembers one step; step->memory is not looked at. */
RLLB_API rllb_status rllb_nn_qmix_observe(rllb_nn_qmix *q, const rllb_nn_step *step);
/* One gradient step on one batch. ERROR_EMPTY before learn_start; ERROR_NOT_FINITE: it diverged, and what was there
   before stays. */
RLLB_API rllb_status rllb_nn_qmix_update(rllb_nn_qmix *q, rllb_nn_qmix_report *report);
RLLB_API double rllb_nn_qmix_epsilon(const rllb_nn_qmix *q);
RLLB_API int64_t rllb_nn_qmix_updates(const rllb_nn_qmix *q);
RLLB_API rllb_nn_net *rllb_nn_qmix_net(rllb_nn_qmix *q, int32_t agent);
RLLB_API rllb_nn_episodes *rllb_nn_qmix_replay(rllb_nn_qmix *q);

/* ---- soft actor-critic ------------------------------------------------------------------------------------------- */

typedef enum rllb_nn_sac_form {
    RLLB_NN_SAC_EXACT,    /* Haarnoja et al. 2018; discrete: expectations over each head (Christodoulou 2019) */
    RLLB_NN_SAC_RELEASED, /* discrete, as the CIKM'22 code has it: the critic sees indices, and all of the actor's
                             gradient is that of alpha log pi of a sampled action: it does not learn. For tables only */
    RLLB_NN_SAC_FORM_NUM
} rllb_nn_sac_form;

/* Agents share one actor and two critics, and learn by their own rewards. Discrete: a critic has a value for every head
   and choice; all heads learn the same return, in whose target each head's value stands for the mean over the others.
   Entropy counts per decision, so that temperature and its target mean the same for 3 servers and for 24. */
typedef struct rllb_nn_sac_desc {
    rllb_nn_space space;
    rllb_nn_net_desc actor, critic; /* inputs, outputs, seed are set; a critic without widths is the actor's like */
    int32_t agents;              /* default 1 */
    rllb_nn_sac_form form;
    float gamma, tau;            /* default 0.99 and 0.005; gamma negative: 0 */
    float alpha;                 /* temperature to start with; default 1 */
    bool alpha_fixed;
    float entropy;               /* target per decision: discrete, share of log(choices), default 0.3; continuous, in
                                    nats, default -1 */
    float reward_scale;          /* default 1 */
    bool normalise_rewards;      /* by mean and deviation of the batch */
    rllb_nn_opt_desc actor_opt, critic_opt, alpha_opt; /* lr default here: 3e-4 */
    rllb_nn_episodes_desc replay; /* capacity, episodes, steps; the rest is set */
    int32_t batch;               /* sequences; default 64 */
    int32_t window;              /* steps of a sequence; default: 1, but whole episodes for recurrent networks: 0 */
    int32_t burn;                /* recurrent: as in rllb_nn_qmix_desc */
    bool stored;                 /* recurrent: windows of the actor start from the state it had */
    int32_t learn_start;         /* steps before the first update; default: batch */
    uint64_t seed;
} rllb_nn_sac_desc;

typedef struct rllb_nn_sac rllb_nn_sac;

typedef struct rllb_nn_sac_report {
    float critic_loss, actor_loss; /* of both critics together */
    float entropy, alpha;          /* per decision, in nats */
    float mean_value;
} rllb_nn_sac_report;

RLLB_API void rllb_nn_sac_desc_default(rllb_nn_sac_desc *desc); /* all zero */
RLLB_API size_t rllb_nn_sac_size(const rllb_nn_sac_desc *desc);
RLLB_API rllb_status rllb_nn_sac_init(const rllb_nn_sac_desc *desc, void *mem, size_t size, rllb_nn_sac **out);
RLLB_API rllb_nn_sac *rllb_nn_sac_create(const rllb_nn_sac_desc *desc);
RLLB_API void rllb_nn_sac_destroy(rllb_nn_sac *s);
RLLB_API void rllb_nn_sac_query(const rllb_nn_sac *s, rllb_nn_sac_desc *out);
/* As rllb_nn_qmix_act and so on; explore false: the likeliest choice, or the mean. */
RLLB_API rllb_status rllb_nn_sac_act(rllb_nn_sac *s, const float *obs, int32_t items, bool explore, float *action);
RLLB_API void rllb_nn_sac_begin(rllb_nn_sac *s);
RLLB_API rllb_status rllb_nn_sac_observe(rllb_nn_sac *s, const rllb_nn_step *step);
/* One step of critics, actor and temperature, in this order. ERROR_EMPTY before learn_start; ERROR_NOT_FINITE: it
   diverged there; that one and those after it stay as they are. */
RLLB_API rllb_status rllb_nn_sac_update(rllb_nn_sac *s, rllb_nn_sac_report *report);
RLLB_API int64_t rllb_nn_sac_updates(const rllb_nn_sac *s);
RLLB_API float rllb_nn_sac_alpha(const rllb_nn_sac *s);
RLLB_API rllb_nn_net *rllb_nn_sac_actor(rllb_nn_sac *s);
RLLB_API rllb_nn_net *rllb_nn_sac_critic(rllb_nn_sac *s, int32_t which); /* 0, 1; 2, 3: their targets */
RLLB_API rllb_nn_episodes *rllb_nn_sac_replay(rllb_nn_sac *s);

/* ---- policy search ----------------------------------------------------------------------------------------------- */

/* Evolution strategies (Salimans et al. 2017): parameters found by the returns of whole trials alone. A generation is
   `pairs` mirrored pairs of candidates, the mean plus and minus sigma times noise. Whoever tries them may do so in any
   order and anywhere; the returns, as centred ranks, estimate the gradient that the optimiser follows. What is judged
   can be what is meant, such as the mean duration of the flows of all balancers over many minutes. */
typedef struct rllb_nn_search_desc {
    rllb_nn_net_desc net;
    const char *only;     /* parameters of layers whose name begins so, such as "common", are searched for, the others
                             stay; NULL: all. Read by init only */
    int32_t pairs;        /* default 16 */
    float sigma;          /* default 0.05 */
    rllb_nn_opt_desc opt; /* lr default here: 0.01 */
    uint64_t seed;        /* of the noise; that of the first mean is net.seed */
} rllb_nn_search_desc;

typedef struct rllb_nn_search rllb_nn_search;

typedef struct rllb_nn_search_report {
    double mean, best;   /* returns of the candidates that had a finite one */
    int32_t lost;        /* those that had none; they rank last */
    float gradient_norm;
} rllb_nn_search_report;

RLLB_API void rllb_nn_search_desc_default(rllb_nn_search_desc *desc); /* all zero */
RLLB_API size_t rllb_nn_search_size(const rllb_nn_search_desc *desc);
RLLB_API rllb_status rllb_nn_search_init(const rllb_nn_search_desc *desc, void *mem, size_t size,
                                         rllb_nn_search **out);
RLLB_API rllb_nn_search *rllb_nn_search_create(const rllb_nn_search_desc *desc);
RLLB_API void rllb_nn_search_destroy(rllb_nn_search *s);
RLLB_API void rllb_nn_search_query(const rllb_nn_search *s, rllb_nn_search_desc *out);
RLLB_API rllb_nn_net *rllb_nn_search_net(rllb_nn_search *s); /* the mean: the result, and where it starts */
/* Candidate 0 ... 2 * pairs - 1 of this generation into a network of the same shape; 2k and 2k + 1 are mirrored. */
RLLB_API rllb_status rllb_nn_search_candidate(rllb_nn_search *s, int32_t which, rllb_nn_net *to);
/* returns[2 * pairs], more is better, all on the same worlds if you can: ends the generation. ERROR_EMPTY: not one was
   finite, and nothing changed. */
RLLB_API rllb_status rllb_nn_search_update(rllb_nn_search *s, const double *returns, rllb_nn_search_report *report);
RLLB_API int64_t rllb_nn_search_generations(const rllb_nn_search *s);

/* ---- policies: one agent's network, serving ---------------------------------------------------------------------- */

/* What decisions mean. Discrete: choice c of an item (or head) is values[c], of common decision k common[k][c].
   Continuous: -1 ... 1 is values[0] ... values[1], or common[k][0] ... common[k][1], even steps in the logarithm where
   `logarithmic`. */
typedef struct rllb_nn_policy_desc {
    rllb_nn_space space;
    rllb_nn_net_desc net; /* as in the learner's descriptor */
    float values[RLLB_NN_CHOICES_MAX];
    float common[RLLB_NN_COMMON_MAX][RLLB_NN_CHOICES_MAX];
    bool logarithmic;
    int32_t agent, agents; /* which one of how many it is, with agent_id */
    bool sampled;         /* draw instead of taking the best */
    uint64_t seed;
} rllb_nn_policy_desc;

typedef struct rllb_nn_policy rllb_nn_policy;

/* count values from low to high, in even steps or even ratios: {1, 1.2, ..., 2}: linear, 1, 2, 6. */
RLLB_API void rllb_nn_values_linear(float low, float high, int32_t count, float *values);
RLLB_API void rllb_nn_values_log(float low, float high, int32_t count, float *values);

RLLB_API void rllb_nn_policy_desc_default(rllb_nn_policy_desc *desc); /* all zero */
RLLB_API size_t rllb_nn_policy_size(const rllb_nn_policy_desc *desc);
RLLB_API rllb_status rllb_nn_policy_init(const rllb_nn_policy_desc *desc, void *mem, size_t size,
                                         rllb_nn_policy **out);
RLLB_API rllb_nn_policy *rllb_nn_policy_create(const rllb_nn_policy_desc *desc);
RLLB_API void rllb_nn_policy_destroy(rllb_nn_policy *p);
RLLB_API void rllb_nn_policy_query(const rllb_nn_policy *p, rllb_nn_policy_desc *out);
RLLB_API rllb_nn_net *rllb_nn_policy_net(rllb_nn_policy *p); /* to copy a learner's into: rllb_nn_net_copy */
/* Does it serve such lengths? ERROR_SHAPE if not: another number of servers, or of numbers observed of each. */
RLLB_API rllb_status rllb_nn_policy_check(const rllb_nn_policy *p, int32_t observations, int32_t actions);
/* Forgets recurrent state and last action. */
RLLB_API void rllb_nn_policy_begin(rllb_nn_policy *p);
/* An rllb_control_fn: self is the policy, one a balancer. observation: that of the balancer, for up to `items` servers
   of a set, or exactly `heads`. Weights out, then the common ones: as many as `actions` says, which must be all or all
   but those. Wrong lengths and numbers that are not finite leave the action as it is: the balancer refuses that. */
RLLB_API void rllb_nn_policy_control(void *self, const float *observation, int32_t observations, float *action,
                                     int32_t actions);

/* ---- files ----------------------------------------------------------------------------------------------------- */

/* Model files are safetensors: 8 bytes of header length, a JSON header, raw little-endian arrays. They are made in
   and read from memory; opening files is the program's business. One list of entries serves saving and loading. */

typedef enum rllb_nn_dtype {
    RLLB_NN_F32,
    RLLB_NN_F64,
    RLLB_NN_I32,
    RLLB_NN_I64,
    RLLB_NN_U64,
    RLLB_NN_U8,
    RLLB_NN_DTYPE_NUM
} rllb_nn_dtype;

enum { RLLB_NN_NAME_MAX = 64 };

/* One array that is saved to or loaded from a file. */
typedef struct rllb_nn_entry {
    char name[RLLB_NN_NAME_MAX];
    rllb_nn_dtype dtype;
    int32_t dims;
    int64_t shape[2];
    void *data;
    bool panels;     /* data is a tensor in panels [shape[0]][shape[1]] ... */
    bool transposed; /* ... or its transpose; the file holds shape[0] x shape[1], row-major, either way */
    int32_t group;   /* the columns of the panels come in groups of so many, each padded to 16; 0: they do not */
} rllb_nn_entry;

/* The list, in the caller's array. overflow counts what did not fit. */
typedef struct rllb_nn_archive {
    rllb_nn_entry *entries;
    int32_t count, capacity, overflow;
} rllb_nn_archive;

/* A key and a value of the file's __metadata__. Both valid UTF-8. */
typedef struct rllb_nn_meta {
    const char *key, *value;
} rllb_nn_meta;

RLLB_API void rllb_nn_archive_add(rllb_nn_archive *a, const char *name, rllb_nn_dtype dtype, int64_t rows,
                                  int64_t cols, void *data); /* cols 0: one dimension */
/* Adds a network's arrays as PyTorch shapes them: PREFIXlayer.0.weight [out][in], PREFIXlayer.0.bias [out], ...,
   PREFIXnorm.0.weight, PREFIXvalue.0.weight, PREFIXadvantage.0.weight. */
RLLB_API void rllb_nn_net_entries(rllb_nn_net *net, const char *prefix, rllb_nn_archive *a);
/* Adds a whole learner: both networks, optimiser, replay, counters, random state. */
RLLB_API void rllb_nn_dqn_entries(rllb_nn_dqn *agent, rllb_nn_archive *a);
/* Adds whole learners: networks, optimisers, replay, counters, random state, the episode that is going on. */
RLLB_API void rllb_nn_qmix_entries(rllb_nn_qmix *q, rllb_nn_archive *a);
RLLB_API void rllb_nn_sac_entries(rllb_nn_sac *s, rllb_nn_archive *a);
RLLB_API void rllb_nn_search_entries(rllb_nn_search *s, rllb_nn_archive *a); /* mean, optimiser, generations */
/* Adds what a balancer needs: the network, "policy.space", "policy.values". With rllb_nn_net_meta as metadata the file
   says all that rllb_nn_policy_desc_load needs. */
RLLB_API void rllb_nn_policy_entries(rllb_nn_policy *p, rllb_nn_archive *a);
/* The descriptor of a saved policy, to be served for up to `items` servers of a set (0: as many as it was made for).
   ERROR_SHAPE: a plain one for another number. ERROR_VERSION: saved by another version of this file's format. */
RLLB_API rllb_status rllb_nn_policy_desc_load(const void *file, size_t size, int32_t items, rllb_nn_policy_desc *out);
enum {
    RLLB_NN_NET_ENTRIES_MAX = 4 * (RLLB_NN_HIDDEN_MAX + RLLB_NN_AFTER_MAX) + 40,
    RLLB_NN_DQN_ENTRIES_MAX = 4 * RLLB_NN_NET_ENTRIES_MAX + 20,
    RLLB_NN_LEARNER_ENTRIES_MAX = 1024, /* as many as a file may hold */
    RLLB_NN_POLICY_ENTRIES_MAX = RLLB_NN_NET_ENTRIES_MAX + 3
};

/* Bytes of the file; 0 if the list overflowed. */
RLLB_API size_t rllb_nn_archive_size(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas);
RLLB_API rllb_status rllb_nn_archive_save(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas,
                                          void *to, size_t size);
/* Every entry must be in the file with its type and shape; only then is anything written. The file may hold more.
   The logger hears which tensor is at fault. */
RLLB_API rllb_status rllb_nn_archive_load(const rllb_nn_archive *a, const void *file, size_t size,
                                          const rllb_logger *logger);

/* Checks a whole file: header, shapes, offsets, no overlap, no gap, at most 1,024 tensors. */
RLLB_API rllb_status rllb_nn_file_check(const void *file, size_t size, const rllb_logger *logger);
/* One tensor of a checked file. rows, cols: its shape (cols 0 if it has one dimension, more than two are merged
   into cols). ERROR_MISSING if it is not there. */
RLLB_API rllb_status rllb_nn_file_query(const void *file, size_t size, const char *name, rllb_nn_dtype *dtype,
                                        int64_t *rows, int64_t *cols, size_t *offset);
/* Copies a metadata value with its final zero; ERROR_MISSING, or ERROR_LIMIT if `out` is too small. */
RLLB_API rllb_status rllb_nn_file_meta(const void *file, size_t size, const char *key, char *out, size_t out_size);

/* The descriptor of a network saved under `prefix`: sizes from the tensors, the rest from the metadata "activation",
   "output_activation", "leak", "heads" (absent: defaults). */
RLLB_API rllb_status rllb_nn_net_desc_load(const void *file, size_t size, const char *prefix, rllb_nn_net_desc *out);
/* Fills meta with what rllb_nn_net_desc_load reads; texts live in `text`. Returns how many. */
enum { RLLB_NN_NET_METAS = 5 };
RLLB_API int32_t rllb_nn_net_meta(const rllb_nn_net *net, char text[80], rllb_nn_meta meta[RLLB_NN_NET_METAS]);

#ifdef __cplusplus
}
#endif

#endif /* RLLB_NN_H: stop here if you only use the API */

/* ================================================================================================================
   Implementation */
#if (defined(RLLB_IMPLEMENTATION) || defined(RLLB_STATIC)) && !defined(RLLB_NN_I_DONE)
#define RLLB_NN_I_DONE

#include <math.h>
#include <string.h>

#ifndef RLLB_NN_FILE
#define RLLB_NN_FILE "rllb_nn.h"
#endif

#if !defined(RLLB_NN_NO_SIMD) && defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define RLLB_NN_I_X86 1
#include <immintrin.h>
#elif !defined(RLLB_NN_NO_SIMD) && defined(__GNUC__) && defined(__aarch64__)
#define RLLB_NN_I_ARM 1
#include <arm_neon.h>
#endif

/* Contraction of a * b + c into a fused operation would make results depend on the machine: off for all that follows,
   and back as it was at the end. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off", "no-math-errno")
#endif

/* Loops over a tile are unrolled, so that its sums stay in registers. Not under a sanitizer: that is not for speed, and
   would take minutes to compile. */
#if defined(RLLB_I_ASAN) || defined(__SANITIZE_THREAD__)
#define RLLB_NN_I_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RLLB_NN_I_INSTRUMENTED 1
#endif
#endif
#if defined(RLLB_NN_I_INSTRUMENTED) || !defined(__GNUC__)
#define RLLB_NN_I_UNROLL
#define RLLB_NN_I_UNROLL_4
#elif defined(__clang__)
#define RLLB_NN_I_UNROLL _Pragma("clang loop unroll(full)")
#define RLLB_NN_I_UNROLL_4 _Pragma("clang loop unroll_count(4)")
#else
#define RLLB_NN_I_UNROLL _Pragma("GCC unroll 16")
#define RLLB_NN_I_UNROLL_4 _Pragma("GCC unroll 4")
#endif
#if defined(__GNUC__)
#define RLLB_NN_I_ATTR(x) __attribute__((x))
#define RLLB_NN_I_ALWAYS_INLINE inline __attribute__((always_inline))
#define RLLB_NN_I_ALIGNED(declaration) declaration __attribute__((aligned(64)))
#else
#define RLLB_NN_I_ATTR(x)
#define RLLB_NN_I_ALWAYS_INLINE inline
#define RLLB_NN_I_ALIGNED(declaration) declaration
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- >>isa -------------------------------------------------------------------------------------------------------
   Which kernels there are and which this processor can run. No state: asked anew at every init. */

/* Coefficients of one optimiser step: d = grad_scale g + decay p, m = beta1 m + (1 - beta1) d (SGD: beta1 m + d),
   v = beta2 v + (1 - beta2) d^2, p = keep p - step m / (sqrt(v) scale + eps). */
typedef struct rllb_i_descent {
    rllb_nn_opt_kind kind;
    float grad_scale, decay, keep, step, beta1, beta2, scale, eps;
} rllb_i_descent;

/* Every matrix in panels, every pointer aligned to 64 bytes; what each does stands at the template. */
struct rllb_nn_kernels {
    const char *name;
    void (*multiply_nn)(const float *a, const float *b, float *c, int32_t m, int32_t n, int32_t depth,
                        const float *bias, float slope, int accumulate);
    void (*multiply_tn)(const float *a, const float *b, float *c, int32_t m, int32_t n, int32_t depth,
                        const float *bias, float slope, int accumulate);
    void (*slice_nn)(const float *a, int32_t a_rows, const float *b, int32_t b_rows, float *c, int32_t c_rows,
                     int32_t m, int32_t n, int32_t depth, const float *bias, float slope, int accumulate);
    void (*slice_tn)(const float *a, int32_t a_rows, const float *b, int32_t b_rows, float *c, int32_t c_rows,
                     int32_t m, int32_t n, int32_t depth, const float *bias, float slope, int accumulate);
    void (*vector)(const float *x, const float *w, const float *bias, float *y, int32_t in, int32_t out, float slope);
    void (*dots)(const float *x, int32_t rows, int32_t in, const float *w, const float *bias, float *y, int32_t out);
    void (*transpose)(const float *s, int32_t rows, int32_t cols, float *t);
    void (*column_sums)(const float *d, int32_t rows, int32_t cols, float *sum);
    void (*activate)(rllb_nn_activation kind, float *y, size_t n, float leak);
    void (*activate_back)(rllb_nn_activation kind, const float *y, float *d, size_t n, float leak);
    void (*softmax)(float *x, int32_t rows, int32_t cols, int logarithm);
    void (*norm)(const float *z, int32_t rows, int32_t cols, const float *gain, const float *shift, float *n, float *y,
                 float *inverse);
    void (*norm_back)(float *d, const float *n, int32_t rows, int32_t cols, const float *gain, const float *inverse,
                      float *gain_grad, float *shift_grad);
    void (*gru)(float *gates, ptrdiff_t gates_panel, const float *h_gates, float *h, float *y, float *given,
                ptrdiff_t panel, int32_t rows, int32_t panels);
    void (*gru_back)(float *gates, float *given, const float *before, ptrdiff_t before_panel, const float *dy,
                     ptrdiff_t panel, float *dh, int32_t rows, int32_t panels);
    float (*square_sum)(const float *x, size_t n);
    void (*blend)(float *to, const float *from, size_t n, float share);
    void (*descend)(const rllb_i_descent *c, float *p, const float *g, float *m, float *v, size_t n);
};

static const RLLB_NN_I_ALIGNED(float rllb_i_lane_numbers[16]) = { 0, 1, 2,  3,  4,  5,  6,  7,
                                                                   8, 9, 10, 11, 12, 13, 14, 15 };

/* ---- >>kernels ---------------------------------------------------------------------------------------------------
   The generic vector: four floats by the compiler's own vector extension, one float where it has none; then the
   template is read once for each instruction set. */

#if defined(__GNUC__)
#define RLLB_NN_I_GENERIC_LANES 4
typedef float rllb_i_generic_v __attribute__((vector_size(16)));
typedef int32_t rllb_i_generic_mask __attribute__((vector_size(16)));
#else
#define RLLB_NN_I_GENERIC_LANES 1
typedef float rllb_i_generic_v;
typedef int32_t rllb_i_generic_mask;
#endif

static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_v rllb_i_generic_load(const float *p)
{
    rllb_i_generic_v v;
    memcpy(&v, p, sizeof v);
    return v;
}

static RLLB_NN_I_ALWAYS_INLINE void rllb_i_generic_store(float *p, rllb_i_generic_v v)
{
    memcpy(p, &v, sizeof v);
}

static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_v rllb_i_generic_madd(rllb_i_generic_v a, rllb_i_generic_v b,
                                                                    rllb_i_generic_v c)
{
    return a * b + c;
}

#if RLLB_NN_I_GENERIC_LANES == 4
static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_v rllb_i_generic_set1(float x)
{
    rllb_i_generic_v v = { x, x, x, x };
    return v;
}

static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_v rllb_i_generic_sqrt(rllb_i_generic_v a)
{
    rllb_i_generic_v r = { sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3]) };
    return r;
}

static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_mask rllb_i_generic_gt(rllb_i_generic_v a, rllb_i_generic_v b)
{
    return (rllb_i_generic_mask)(a > b);
}

static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_v rllb_i_generic_sel(rllb_i_generic_mask m, rllb_i_generic_v a,
                                                                   rllb_i_generic_v b)
{
    return (rllb_i_generic_v)((m & (rllb_i_generic_mask)a) | (~m & (rllb_i_generic_mask)b));
}

static RLLB_NN_I_ALWAYS_INLINE rllb_i_generic_v rllb_i_generic_pow2(rllb_i_generic_v t)
{
    typedef uint32_t bits __attribute__((vector_size(16)));
    return (rllb_i_generic_v)(((bits)t << 23) + 0x3f800000u);
}
#else
static rllb_i_generic_v rllb_i_generic_set1(float x)
{
    return x;
}

static rllb_i_generic_v rllb_i_generic_sqrt(rllb_i_generic_v a)
{
    return sqrtf(a);
}

static rllb_i_generic_mask rllb_i_generic_gt(rllb_i_generic_v a, rllb_i_generic_v b)
{
    return a > b;
}

static rllb_i_generic_v rllb_i_generic_sel(rllb_i_generic_mask m, rllb_i_generic_v a, rllb_i_generic_v b)
{
    return m ? a : b;
}

static rllb_i_generic_v rllb_i_generic_pow2(rllb_i_generic_v t)
{
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    memcpy(&t, &bits, sizeof t);
    return t;
}
#endif

#define RLLB_NN_I_GENERIC 1
#define RLLB_NN_I_SSE2 2
#define RLLB_NN_I_AVX2_PORTABLE 3
#define RLLB_NN_I_AVX2 4
#define RLLB_NN_I_AVX512 5
#define RLLB_NN_I_NEON 6
#define RLLB_NN_I_NEON_PORTABLE 7

#define RLLB_NN_I_STAMP RLLB_NN_I_GENERIC
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#ifdef RLLB_NN_I_X86
#define RLLB_NN_I_STAMP RLLB_NN_I_SSE2
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#define RLLB_NN_I_STAMP RLLB_NN_I_AVX2_PORTABLE
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#define RLLB_NN_I_STAMP RLLB_NN_I_AVX2
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#define RLLB_NN_I_STAMP RLLB_NN_I_AVX512
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#endif
#ifdef RLLB_NN_I_ARM
#define RLLB_NN_I_STAMP RLLB_NN_I_NEON
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#define RLLB_NN_I_STAMP RLLB_NN_I_NEON_PORTABLE
#include RLLB_NN_FILE
#undef RLLB_NN_I_STAMP
#endif

const rllb_nn_kernels *rllb_nn_kernels_query(rllb_nn_isa isa, bool portable)
{
    bool any = isa == RLLB_NN_ISA_DEFAULT;
#ifdef RLLB_NN_I_X86
    bool wide = (any || isa == RLLB_NN_ISA_AVX512) && __builtin_cpu_supports("avx512f");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (wide && !portable) return &rllb_i_kernels_avx512;
    if ((any || isa == RLLB_NN_ISA_AVX2 || wide) && avx2) {
        return portable ? &rllb_i_kernels_avx2_portable : &rllb_i_kernels_avx2;
    }
    if ((any || isa == RLLB_NN_ISA_SSE2) && __builtin_cpu_supports("sse2")) return &rllb_i_kernels_sse2;
#endif
#ifdef RLLB_NN_I_ARM
    if (any || isa == RLLB_NN_ISA_NEON) return portable ? &rllb_i_kernels_neon_portable : &rllb_i_kernels_neon;
#endif
    (void)portable; /* the generic kernels are */
    return any || isa == RLLB_NN_ISA_GENERIC ? &rllb_i_kernels_generic : NULL;
}

const char *rllb_nn_kernels_name(const rllb_nn_kernels *k)
{
    return k ? k->name : "none";
}

/* ---- >>tensors ---------------------------------------------------------------------------------------------------
   Matrices in panels over memory that others own. */

static int32_t rllb_i_panels(int32_t cols)
{
    return (cols + RLLB_NN_PANEL - 1) / RLLB_NN_PANEL;
}

size_t rllb_nn_tensor_floats(int32_t rows, int32_t cols)
{
    return rows < 1 || cols < 1 ? 0 : (size_t)rows * (size_t)rllb_i_panels(cols) * RLLB_NN_PANEL;
}

static bool rllb_i_all_finite(const float *v, int32_t n)
{
    int32_t i;

    for (i = 0; i < n; i++) {
        if (!(v[i] - v[i] == 0)) return false;
    }
    return true;
}

/* A few floats: what memcpy does for lengths it does not know costs more than the copy. */
static void rllb_i_copy(float *to, const float *from, int32_t n)
{
    int32_t i = 0;

    for (; i + 4 <= n; i += 4) memcpy(to + i, from + i, 4 * sizeof(float));
    for (; i < n; i++) to[i] = from[i];
}

void rllb_nn_tensor_load(const rllb_nn_tensor *t, const float *from, size_t stride)
{
    float *to = t->data;
    int32_t p, r;

    for (p = 0; p < t->cols; p += RLLB_NN_PANEL) {
        int32_t width = t->cols - p < RLLB_NN_PANEL ? t->cols - p : RLLB_NN_PANEL;
        for (r = 0; r < t->rows; r++, to += RLLB_NN_PANEL) {
            const float *row = from + (size_t)r * stride + p;
            memset(to, 0, RLLB_NN_PANEL * sizeof(float));
            rllb_i_copy(to, row, width);
        }
    }
}

void rllb_nn_tensor_save(const rllb_nn_tensor *t, float *to, size_t stride)
{
    const float *from = t->data;
    int32_t p, r;

    for (p = 0; p < t->cols; p += RLLB_NN_PANEL) {
        int32_t width = t->cols - p < RLLB_NN_PANEL ? t->cols - p : RLLB_NN_PANEL;
        for (r = 0; r < t->rows; r++, from += RLLB_NN_PANEL) {
            rllb_i_copy(to + (size_t)r * stride + (size_t)p, from, width);
        }
    }
}

rllb_status rllb_nn_multiply(const rllb_nn_kernels *k, rllb_nn_product form, const rllb_nn_tensor *a,
                             const rllb_nn_tensor *b, const rllb_nn_tensor *c, bool accumulate, float *scratch)
{
    int32_t m, n, depth, depth_b;

    if (!k || !a || !b || !c || (int)form < 0 || form > RLLB_NN_NT) return RLLB_ERROR_ARGUMENT;
    m = form == RLLB_NN_TN ? a->cols : a->rows;
    depth = form == RLLB_NN_TN ? a->rows : a->cols;
    n = form == RLLB_NN_NT ? b->rows : b->cols;
    depth_b = form == RLLB_NN_NT ? b->cols : b->rows;
    if (depth != depth_b || c->rows != m || c->cols != n || (form == RLLB_NN_NT && !scratch)) {
        return RLLB_ERROR_ARGUMENT;
    }
    if (form == RLLB_NN_TN) {
        k->multiply_tn(a->data, b->data, c->data, m, n, depth, NULL, 1, accumulate);
    } else {
        if (form == RLLB_NN_NT) k->transpose(b->data, b->rows, b->cols, scratch);
        k->multiply_nn(a->data, form == RLLB_NN_NT ? scratch : b->data, c->data, m, n, depth, NULL, 1, accumulate);
    }
    return RLLB_OK;
}

void rllb_nn_multiply_vector(const rllb_nn_kernels *k, const float *x, const rllb_nn_tensor *w, const float *bias,
                             float *y)
{
    k->vector(x, w->data, bias, y, w->rows, w->cols, 1);
}

void rllb_nn_softmax(const rllb_nn_kernels *k, const rllb_nn_tensor *t, bool logarithm)
{
    k->softmax(t->data, t->rows, t->cols, logarithm);
}

void rllb_nn_column_sums(const rllb_nn_kernels *k, const rllb_nn_tensor *t, float *sums)
{
    k->column_sums(t->data, t->rows, t->cols, sums);
}

/* ReLU is the leaky one with slope 0. */
static float rllb_i_leak(rllb_nn_activation kind, float leak)
{
    return kind == RLLB_NN_LEAKY_RELU ? leak : 0;
}

/* The kernel works on whole panels. Of all activations only the sigmoid does not leave the padding zero. */
static void rllb_i_activate(const rllb_nn_kernels *k, rllb_nn_activation kind, float *data, int32_t rows, int32_t cols,
                            float leak)
{
    float *last = data + (size_t)(cols / RLLB_NN_PANEL) * (size_t)rows * RLLB_NN_PANEL;
    int32_t used = cols % RLLB_NN_PANEL, r, c;

    k->activate(kind, data, rllb_nn_tensor_floats(rows, cols), rllb_i_leak(kind, leak));
    for (r = 0; kind == RLLB_NN_SIGMOID && used && r < rows; r++, last += RLLB_NN_PANEL) {
        for (c = used; c < RLLB_NN_PANEL; c++) last[c] = 0;
    }
}

void rllb_nn_activate(const rllb_nn_kernels *k, rllb_nn_activation kind, const rllb_nn_tensor *t, float leak)
{
    rllb_i_activate(k, kind, t->data, t->rows, t->cols, leak);
}

void rllb_nn_activate_back(const rllb_nn_kernels *k, rllb_nn_activation kind, const rllb_nn_tensor *y,
                           const rllb_nn_tensor *d, float leak)
{
    k->activate_back(kind, y->data, d->data, rllb_nn_tensor_floats(y->rows, y->cols), rllb_i_leak(kind, leak));
}

static const char *const rllb_i_activation_names[] = { "default", "linear",  "relu", "leaky_relu",
                                                       "tanh",    "sigmoid", "elu" };

const char *rllb_nn_activation_name(rllb_nn_activation kind)
{
    return (int)kind >= 0 && kind < RLLB_NN_ACTIVATION_NUM ? rllb_i_activation_names[kind] : NULL;
}

int32_t rllb_nn_activation_of(const char *name)
{
    int32_t kind;

    for (kind = 0; name && kind < (int32_t)RLLB_NN_ACTIVATION_NUM; kind++) {
        if (strcmp(name, rllb_i_activation_names[kind]) == 0) return kind;
    }
    return -1;
}

/* ---- >>network ---------------------------------------------------------------------------------------------------
   A network is a list of layers, each fed by an earlier one or by the observation, and its parameters. Wide dense
   layers keep their weights [in][out], so that every output is summed in input order by whole vectors; layers with few
   outputs keep them [out][in] and take dot products. In a set-structured network most layers have a row for every item.
   A work holds what a pass leaves behind. Rows run through time first: all sequences of step 0, then all of step 1. */

enum { RLLB_I_LAYERS_MAX = RLLB_NN_HIDDEN_MAX + RLLB_NN_AFTER_MAX + 8, RLLB_I_NARROW = 8 };

typedef enum rllb_i_layer_kind { RLLB_I_LAYER_DENSE, RLLB_I_LAYER_GRU, RLLB_I_LAYER_POOL } rllb_i_layer_kind;

typedef struct rllb_i_layer {
    rllb_i_layer_kind kind;
    char name[16];      /* "layer.0", "value.1", ... */
    char norm_name[24]; /* "norm.0", "norm.value.0", ... */
    int32_t in, out;
    int32_t input;     /* which layer feeds it; -1: the observation */
    int32_t context;   /* whose row of the set is added to the sums of every item, in place of a bias; -1: none */
    bool item;         /* a row for every item */
    bool narrow, norm; /* weights [out][in]; layer normalisation before the activation */
    bool apart;        /* the activation is a pass of its own; else the kernels apply `slope` on their way out */
    float slope;
    rllb_nn_activation activation;
    size_t weight, bias, gain, shift; /* offsets into the parameters, in floats */
    size_t state_weight, state_bias;  /* GRU: from the state before */
} rllb_i_layer;

/* Running statistics of what is observed, and the shift and scale in force that follow from them. */
typedef struct rllb_i_normal {
    int32_t width;
    double *count, *mean, *square; /* [1], [width], [width] sum of squared deviations */
    float *shift, *scale;          /* [width] */
} rllb_i_normal;

struct rllb_nn_net {
    rllb_nn_net_desc desc; /* resolved */
    const rllb_nn_kernels *k;
    rllb_i_layer layer[RLLB_I_LAYERS_MAX];
    int32_t layers, value, advantage; /* last layers of the dueling streams; -1 if there is no dueling head */
    int32_t last, common;             /* whose rows are the outputs: of items in a set; of the whole set, or -1 */
    int32_t gru;                      /* which layer it is; -1: none */
    size_t floats;
    float *data;
    rllb_i_normal normal, item_normal; /* width 0: not normalised */
    void *block;
};

struct rllb_nn_work {
    int32_t rows, steps, items; /* the most of each; items 1 unless the network is set-structured */
    int32_t now_rows, now_items; /* of the present pass: rows of all steps; items */
    const int32_t *counts;      /* of the present pass: [now_sequences] */
    int32_t now_sequences;
    bool train;
    float *x;                              /* the observations, in panels */
    float *global;                         /* set: what concerns all items, [rows][inputs] row-major */
    float *y[RLLB_I_LAYERS_MAX];           /* what each layer gave */
    float *normal[RLLB_I_LAYERS_MAX];      /* normalised sums, before gain and shift */
    float *inverse[RLLB_I_LAYERS_MAX];     /* [rows] 1 / standard deviation */
    float *d[RLLB_I_LAYERS_MAX];           /* gradient by y */
    float *dx, *transposed;                /* gradient by x; room for the largest weights */
    int32_t *greatest;                     /* pool: which item, [rows][width] */
    /* GRU, by steps x sequences (gates: of one step without training): gates r, z, n and what the state gave to n; then
       gradients by them. */
    float *gates, *given;
    /* GRU, one step: the first state, the state, what it gives to the gates, gradient by it. */
    float *start, *h, *h_gates, *dh;
    bool from_zero; /* the first state is zero */
    void *block;
};

static int32_t rllb_i_padded(int32_t cols)
{
    return rllb_i_panels(cols) * RLLB_NN_PANEL;
}

static rllb_i_layer *rllb_i_add_named(rllb_nn_net *net, rllb_i_layer_kind kind, const char *name, int32_t number,
                                      int32_t input, int32_t in, int32_t out)
{
    rllb_i_layer *l = &net->layer[net->layers++];
    size_t n = strlen(name);

    memset(l, 0, sizeof *l);
    l->kind = kind;
    memcpy(l->name, name, n);
    if (number >= 0) {
        l->name[n] = '.';
        l->name[n + 1] = (char)('0' + number);
    }
    memcpy(l->norm_name, "norm.", 5);
    if (strcmp(name, "layer") == 0) l->norm_name[5] = l->name[6]; /* "layer." is left out */
    else memcpy(l->norm_name + 5, l->name, n + 2);
    l->in = in;
    l->out = out;
    l->input = input;
    l->context = -1;
    l->slope = 1;
    l->activation = RLLB_NN_LINEAR;
    return l;
}

/* A dense layer; context >= 0: its bias comes from that layer. */
static void rllb_i_add_dense(rllb_nn_net *net, const char *name, int32_t number, int32_t input, int32_t in,
                             int32_t out, bool hidden, bool item, int32_t context)
{
    rllb_i_layer *l = rllb_i_add_named(net, RLLB_I_LAYER_DENSE, name, number, input, in, out);

    l->item = item;
    l->context = context;
    l->narrow = out < RLLB_I_NARROW && context < 0;
    l->norm = hidden && net->desc.layer_norm;
    l->activation = hidden ? net->desc.activation : net->desc.output_activation;
    l->apart = l->activation != RLLB_NN_LINEAR &&
               (l->norm || l->narrow || (l->activation != RLLB_NN_RELU && l->activation != RLLB_NN_LEAKY_RELU));
    l->slope = l->apart || l->activation == RLLB_NN_LINEAR ? 1 : rllb_i_leak(l->activation, net->desc.leak);
    l->weight = net->floats;
    net->floats += l->narrow ? rllb_nn_tensor_floats(out, in) : rllb_nn_tensor_floats(in, out);
    l->bias = net->floats;
    l->gain = l->bias + (context < 0 ? rllb_nn_tensor_floats(1, out) : 0);
    l->shift = l->gain + (l->norm ? rllb_nn_tensor_floats(1, out) : 0);
    net->floats = l->shift + (l->norm ? rllb_nn_tensor_floats(1, out) : 0);
}

/* Gates r, z, n side by side, each padded to whole panels. */
static void rllb_i_add_gru(rllb_nn_net *net, int32_t input, int32_t in, bool item)
{
    rllb_i_layer *l = rllb_i_add_named(net, RLLB_I_LAYER_GRU, "gru", -1, input, in, net->desc.gru);
    int32_t width = 3 * rllb_i_padded(l->out);

    l->item = item;
    l->weight = net->floats;
    l->bias = l->weight + rllb_nn_tensor_floats(in, width);
    l->state_weight = l->bias + rllb_nn_tensor_floats(1, width);
    l->state_bias = l->state_weight + rllb_nn_tensor_floats(l->out, width);
    net->floats = l->state_bias + rllb_nn_tensor_floats(1, width);
    net->gru = net->layers - 1;
}

static bool rllb_i_widths_ok(const int32_t *width, int32_t most, int32_t *count)
{
    int32_t n;

    for (n = 0; n < most && width[n] > 0; n++) {
        if (width[n] > RLLB_NN_UNITS_MAX) return false;
    }
    *count = n;
    return n == most || width[n] == 0 || (width[n] == -1 && n == 0);
}

/* Fills in defaults and checks. */
static bool rllb_i_net_resolve(const rllb_nn_net_desc *desc, rllb_nn_net_desc *d, int32_t *hidden, int32_t *after)
{
    bool set, ok;

    if (!desc) return false;
    *d = *desc;
    set = d->item_inputs != 0;
    if (d->hidden[0] == 0) d->hidden[0] = d->hidden[1] = 64;
    ok = rllb_i_widths_ok(d->hidden, RLLB_NN_HIDDEN_MAX, hidden);
    ok = rllb_i_widths_ok(d->after, RLLB_NN_AFTER_MAX, after) && ok;
    ok = ok && d->inputs >= (set ? 0 : 1) && d->inputs <= RLLB_NN_UNITS_MAX;
    ok = ok && d->outputs >= (set ? 0 : 1) && d->outputs <= RLLB_NN_UNITS_MAX;
    ok = ok && d->item_inputs >= 0 && d->item_inputs <= RLLB_NN_UNITS_MAX;
    ok = ok && d->item_outputs >= (set ? 1 : 0) && d->item_outputs <= (set ? RLLB_NN_UNITS_MAX : 0);
    ok = ok && d->gru >= 0 && d->gru <= RLLB_NN_UNITS_MAX / 4 && d->after[0] >= 0;
    if (d->activation == RLLB_NN_ACTIVATION_DEFAULT) d->activation = RLLB_NN_RELU;
    if (d->output_activation == RLLB_NN_ACTIVATION_DEFAULT) d->output_activation = RLLB_NN_LINEAR;
    ok = ok && (int)d->activation >= 0 && d->activation < RLLB_NN_ACTIVATION_NUM;
    ok = ok && (int)d->output_activation >= 0 && d->output_activation < RLLB_NN_ACTIVATION_NUM;
    if (d->start == RLLB_NN_START_DEFAULT) d->start = RLLB_NN_START_KAIMING;
    ok = ok && (int)d->start >= 0 && d->start < RLLB_NN_START_NUM;
    if (d->leak == 0) d->leak = 0.01f;
    ok = ok && d->leak > 0 && d->leak <= 1;
    if (d->heads == 0) d->heads = 1;
    ok = ok && d->dueling >= 0 && d->dueling <= RLLB_NN_UNITS_MAX && !(d->dueling && set);
    ok = ok && d->heads >= 1 && (set || d->outputs % d->heads == 0);
    return ok && !(d->dueling && d->output_activation != RLLB_NN_LINEAR);
}

/* What is behind encoder and GRU in a set: items beside each other, and one row for all of them. */
static void rllb_i_plan_set(rllb_nn_net *net, int32_t width, int32_t after)
{
    const rllb_nn_net_desc *d = &net->desc;
    int32_t encoded = net->layers - 1, first = after ? d->after[0] : width, pooled = 2 * width + d->inputs, pool, i;
    rllb_nn_activation output = d->output_activation;

    rllb_i_add_named(net, RLLB_I_LAYER_POOL, "pool", -1, encoded, width, pooled);
    pool = net->layers - 1;
    net->desc.output_activation = RLLB_NN_LINEAR; /* the context is a part of a sum */
    rllb_i_add_dense(net, "context", 0, pool, pooled, first, false, false, -1);
    net->desc.output_activation = output;
    rllb_i_add_dense(net, "after", 0, encoded, width, first, true, true, pool + 1);
    for (i = 1; i < after; i++) {
        rllb_i_add_dense(net, "after", i, net->layers - 1, d->after[i - 1], d->after[i], true, true, -1);
    }
    rllb_i_add_dense(net, "after", after ? after : 1, net->layers - 1, after ? d->after[after - 1] : first,
                     d->item_outputs, false, true, -1);
    net->last = net->layers - 1;
    if (!d->outputs) return;
    rllb_i_add_dense(net, "common", 0, pool, pooled, first, true, false, -1);
    rllb_i_add_dense(net, "common", 1, net->layers - 1, first, d->outputs, false, false, -1);
    net->common = net->layers - 1;
}

/* Fills in defaults, checks, and lists the layers. False if the descriptor is wrong. */
static bool rllb_i_net_plan(const rllb_nn_net_desc *desc, rllb_nn_net *net)
{
    rllb_nn_net_desc *d = &net->desc;
    int32_t i, hidden, after, width, trunk;
    const char *name = "layer";
    bool set;

    memset(net, 0, sizeof *net);
    net->value = net->advantage = net->common = net->gru = -1;
    if (!rllb_i_net_resolve(desc, d, &hidden, &after)) return false;
    set = d->item_inputs > 0;
    if (after && !d->gru && !set) return false; /* those are hidden layers */
    if (d->normalise) net->normal.width = d->inputs;
    if (d->normalise) net->item_normal.width = d->item_inputs;
    width = set ? d->item_inputs : d->inputs;
    for (i = 0; i < hidden; i++) {
        rllb_i_add_dense(net, name, i, i - 1, width, d->hidden[i], true, set, -1);
        width = d->hidden[i];
    }
    if (d->gru) {
        rllb_i_add_gru(net, hidden - 1, width, set);
        width = d->gru;
        name = "after";
        hidden = 0;
    }
    if (set) {
        rllb_i_plan_set(net, width, after);
        return true;
    }
    for (i = 0; i < after; i++) {
        rllb_i_add_dense(net, name, i, net->layers - 1, width, d->after[i], true, false, -1);
        width = d->after[i];
        hidden++;
    }
    trunk = net->layers - 1;
    if (d->dueling) {
        rllb_i_add_dense(net, "value", 0, trunk, width, d->dueling, true, false, -1);
        rllb_i_add_dense(net, "value", 1, trunk + 1, d->dueling, 1, false, false, -1);
        rllb_i_add_dense(net, "advantage", 0, trunk, width, d->dueling, true, false, -1);
        rllb_i_add_dense(net, "advantage", 1, trunk + 3, d->dueling, d->outputs, false, false, -1);
        net->value = trunk + 2;
        net->advantage = trunk + 4;
    } else {
        rllb_i_add_dense(net, name, hidden, trunk, width, d->outputs, false, false, -1);
    }
    net->last = net->layers - 1;
    return true;
}

static rllb_i_normal rllb_i_normal_layout(int32_t width, rllb_carver *c)
{
    rllb_i_normal n;

    memset(&n, 0, sizeof n);
    n.width = width;
    if (!width) return n;
    n.count = (double *)rllb_carve(c, 1, sizeof(double));
    n.mean = (double *)rllb_carve(c, (size_t)width, sizeof(double));
    n.square = (double *)rllb_carve(c, (size_t)width, sizeof(double));
    n.shift = (float *)rllb_carve(c, (size_t)width, sizeof(float));
    n.scale = (float *)rllb_carve(c, (size_t)width, sizeof(float));
    return n;
}

static rllb_nn_net *rllb_i_net_layout(const rllb_nn_net *plan, rllb_carver *c)
{
    rllb_nn_net *net = (rllb_nn_net *)rllb_carve(c, 1, sizeof *net);
    float *data = (float *)rllb_carve(c, plan->floats, sizeof(float));
    rllb_i_normal normal = rllb_i_normal_layout(plan->normal.width, c);
    rllb_i_normal item_normal = rllb_i_normal_layout(plan->item_normal.width, c);
    if (net) {
        *net = *plan;
        net->data = data;
        net->normal = normal;
        net->item_normal = item_normal;
    }
    return net;
}

void rllb_nn_net_desc_default(rllb_nn_net_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_nn_net_size(const rllb_nn_net_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_net plan;

    if (!rllb_i_net_plan(desc, &plan)) return 0;
    rllb_i_net_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_net_init(const rllb_nn_net_desc *desc, void *mem, size_t size, rllb_nn_net **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_net plan, *net;
    rllb_status status;

    if (!out || !rllb_i_net_plan(desc, &plan)) return RLLB_ERROR_ARGUMENT;
    plan.k = rllb_nn_kernels_query(plan.desc.isa, plan.desc.portable);
    if (!plan.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_net_size(desc));
    if (status != RLLB_OK) return status;
    net = rllb_i_net_layout(&plan, &c);
    rllb_nn_net_reset(net, net->desc.seed, net->desc.stream);
    *out = net;
    return RLLB_OK;
}

rllb_nn_net *rllb_nn_net_create(const rllb_nn_net_desc *desc)
{
    size_t size = rllb_nn_net_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_net *net = NULL;

    if (block && rllb_nn_net_init(desc, block, size, &net) == RLLB_OK) {
        net->block = block;
        return net;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_net_destroy(rllb_nn_net *net)
{
    if (net) rllb_block_free(net->block);
}

void rllb_nn_net_query(const rllb_nn_net *net, rllb_nn_net_desc *out)
{
    *out = net->desc;
}

const rllb_nn_kernels *rllb_nn_net_kernels(const rllb_nn_net *net)
{
    return net->k;
}

int32_t rllb_nn_net_inputs(const rllb_nn_net *net, int32_t items)
{
    return net->desc.inputs + items * net->desc.item_inputs;
}

int32_t rllb_nn_net_outputs(const rllb_nn_net *net, int32_t items)
{
    return net->desc.outputs + items * net->desc.item_outputs;
}

int32_t rllb_nn_net_states(const rllb_nn_net *net, int32_t items)
{
    return net->desc.gru * (net->desc.item_inputs ? items : 1);
}

/* The weight from input i to output o, wherever the layer keeps it. */
static float *rllb_i_weight(const rllb_nn_net *net, const rllb_i_layer *l, int32_t o, int32_t i)
{
    int32_t row = l->narrow ? o : i, col = l->narrow ? i : o, rows = l->narrow ? l->out : l->in;
    return net->data + l->weight + (size_t)(col / RLLB_NN_PANEL) * (size_t)rows * RLLB_NN_PANEL +
           (size_t)row * RLLB_NN_PANEL + (size_t)(col % RLLB_NN_PANEL);
}

/* Modified Gram-Schmidt, twice over, on the shorter side's vectors (Saxe et al. 2014). */
static void rllb_i_orthogonal(rllb_nn_net *net, const rllb_i_layer *l, rllb_rng *rng, double gain)
{
    bool by_output = l->out <= l->in;
    int32_t vectors = by_output ? l->out : l->in, length = by_output ? l->in : l->out, a, b, i, round;

#define RLLB_I_AT(v, e) rllb_i_weight(net, l, by_output ? (v) : (e), by_output ? (e) : (v))
    for (a = 0; a < vectors; a++) {
        double norm = 0;
        for (i = 0; i < length; i++) *RLLB_I_AT(a, i) = (float)rllb_rng_normal(rng);
        for (round = 0; round < 2; round++) {
            for (b = 0; b < a; b++) {
                double dot = 0;
                for (i = 0; i < length; i++) dot += (double)*RLLB_I_AT(a, i) * (double)*RLLB_I_AT(b, i);
                for (i = 0; i < length; i++) *RLLB_I_AT(a, i) -= (float)(dot * (double)*RLLB_I_AT(b, i));
            }
        }
        for (i = 0; i < length; i++) norm += (double)*RLLB_I_AT(a, i) * (double)*RLLB_I_AT(a, i);
        for (i = 0; i < length; i++) *RLLB_I_AT(a, i) = (float)((double)*RLLB_I_AT(a, i) / sqrt(norm));
    }
    for (a = 0; a < vectors; a++) {
        for (i = 0; i < length; i++) *RLLB_I_AT(a, i) = (float)(gain * (double)*RLLB_I_AT(a, i));
    }
#undef RLLB_I_AT
}

/* All of a GRU from U(-b, b), b = 1/sqrt(units), as PyTorch's. */
static void rllb_i_gru_reset(rllb_nn_net *net, const rllb_i_layer *l, rllb_rng *rng)
{
    const size_t place[4] = { l->weight, l->state_weight, l->bias, l->state_bias };
    const int32_t rows[4] = { l->in, l->out, 1, 1 };
    int32_t part, gate, o, i, padded = rllb_i_padded(l->out);
    double bound = 1 / sqrt((double)l->out);

    for (part = 0; part < 4; part++) {
        for (gate = 0; gate < 3; gate++) {
            for (o = 0; o < l->out; o++) {
                size_t col = (size_t)gate * (size_t)padded + (size_t)o;
                size_t panel = col / RLLB_NN_PANEL * (size_t)rows[part];
                float *at = net->data + place[part] + panel * RLLB_NN_PANEL + col % RLLB_NN_PANEL;
                for (i = 0; i < rows[part]; i++) {
                    at[(size_t)i * RLLB_NN_PANEL] = (float)(bound * (2 * rllb_rng_double(rng) - 1));
                }
            }
        }
    }
}

static void rllb_i_dense_reset(rllb_nn_net *net, const rllb_i_layer *l, rllb_rng *rng, bool last)
{
    bool kaiming = net->desc.start == RLLB_NN_START_KAIMING;
    double bound = kaiming ? 1 / sqrt((double)l->in) : sqrt(6.0 / ((double)l->in + (double)l->out));
    int32_t o, i;

    if (net->desc.start == RLLB_NN_START_ORTHOGONAL) {
        rllb_i_orthogonal(net, l, rng, last ? 1 : sqrt(2.0));
    } else {
        for (o = 0; o < l->out; o++) {
            for (i = 0; i < l->in; i++) {
                *rllb_i_weight(net, l, o, i) = (float)(bound * (2 * rllb_rng_double(rng) - 1));
            }
        }
        for (o = 0; kaiming && l->context < 0 && o < l->out; o++) {
            net->data[l->bias + (size_t)o] = (float)(bound * (2 * rllb_rng_double(rng) - 1));
        }
    }
    for (o = 0; l->norm && o < l->out; o++) net->data[l->gain + (size_t)o] = 1;
}

static void rllb_i_normal_reset(rllb_i_normal *n)
{
    int32_t i;

    if (n->width) n->count[0] = 0;
    for (i = 0; i < n->width; i++) {
        n->mean[i] = n->square[i] = 0;
        n->shift[i] = 0;
        n->scale[i] = 1;
    }
}

void rllb_nn_net_reset(rllb_nn_net *net, uint64_t seed, uint64_t stream)
{
    rllb_rng rng;
    int32_t n;

    rllb_rng_init(&rng, seed, stream);
    memset(net->data, 0, net->floats * sizeof(float));
    for (n = 0; n < net->layers; n++) {
        const rllb_i_layer *l = &net->layer[n];
        if (l->kind == RLLB_I_LAYER_GRU) rllb_i_gru_reset(net, l, &rng);
        if (l->kind == RLLB_I_LAYER_DENSE) {
            rllb_i_dense_reset(net, l, &rng, n == net->last || n == net->value || n == net->common);
        }
    }
    rllb_i_normal_reset(&net->normal);
    rllb_i_normal_reset(&net->item_normal);
}

float *rllb_nn_net_data(rllb_nn_net *net)
{
    return net->data;
}

size_t rllb_nn_net_floats(const rllb_nn_net *net)
{
    return net->floats;
}

int64_t rllb_nn_net_parameters(const rllb_nn_net *net)
{
    int64_t sum = 0;
    int32_t n;

    for (n = 0; n < net->layers; n++) {
        const rllb_i_layer *l = &net->layer[n];
        if (l->kind == RLLB_I_LAYER_GRU) sum += 3 * (int64_t)l->out * ((int64_t)l->in + l->out + 2);
        if (l->kind != RLLB_I_LAYER_DENSE) continue;
        sum += (int64_t)l->in * l->out + l->out * ((l->context < 0) + (l->norm ? 2 : 0));
    }
    return sum;
}

static bool rllb_i_same_shape(const rllb_nn_net *a, const rllb_nn_net *b)
{
    int32_t n;

    if (a->layers != b->layers || a->floats != b->floats || a->value != b->value || a->gru != b->gru ||
        a->common != b->common || a->normal.width != b->normal.width || a->item_normal.width != b->item_normal.width ||
        !(a->desc.leak == b->desc.leak) || a->desc.heads != b->desc.heads) {
        return false;
    }
    for (n = 0; n < a->layers; n++) {
        const rllb_i_layer *p = &a->layer[n], *q = &b->layer[n];
        if (p->kind != q->kind || p->in != q->in || p->out != q->out || p->norm != q->norm || p->item != q->item ||
            p->activation != q->activation) {
            return false;
        }
    }
    return true;
}

static void rllb_i_normal_copy(rllb_i_normal *to, const rllb_i_normal *from)
{
    size_t width = (size_t)from->width;

    if (!width) return;
    to->count[0] = from->count[0];
    memcpy(to->mean, from->mean, width * sizeof(double));
    memcpy(to->square, from->square, width * sizeof(double));
    memcpy(to->shift, from->shift, width * sizeof(float));
    memcpy(to->scale, from->scale, width * sizeof(float));
}

rllb_status rllb_nn_net_copy(rllb_nn_net *to, const rllb_nn_net *from)
{
    if (!rllb_i_same_shape(to, from)) return RLLB_ERROR_SHAPE;
    if (to == from) return RLLB_OK;
    memcpy(to->data, from->data, to->floats * sizeof(float));
    rllb_i_normal_copy(&to->normal, &from->normal);
    rllb_i_normal_copy(&to->item_normal, &from->item_normal);
    return RLLB_OK;
}

/* One more value of every column: Welford's update; then what the passes use. */
static void rllb_i_normal_take(rllb_i_normal *n, const float *x)
{
    int32_t i;

    if (n->count[0] < 1e15) n->count[0] += 1;
    for (i = 0; i < n->width; i++) {
        double off = (double)x[i] - n->mean[i];
        n->mean[i] += off / n->count[0];
        n->square[i] += off * ((double)x[i] - n->mean[i]);
    }
}

static void rllb_i_normal_settle(rllb_i_normal *n)
{
    int32_t i;

    for (i = 0; i < n->width; i++) {
        double variance = n->count[0] > 1 ? n->square[i] / n->count[0] : 1;
        n->shift[i] = (float)n->mean[i];
        n->scale[i] = (float)(1 / sqrt(variance + 1e-8));
    }
}

rllb_status rllb_nn_net_observe(rllb_nn_net *net, const float *x, int32_t items, const unsigned char *raw)
{
    int32_t inputs = net->desc.inputs, width = net->desc.item_inputs, i, j;

    if (!net->desc.normalise) return RLLB_OK;
    if (!rllb_i_all_finite(x, rllb_nn_net_inputs(net, items))) return RLLB_ERROR_NOT_FINITE;
    if (inputs) rllb_i_normal_take(&net->normal, x);
    if (inputs) rllb_i_normal_settle(&net->normal);
    for (i = 0; width && i < items; i++) rllb_i_normal_take(&net->item_normal, x + inputs + i * width);
    if (width) rllb_i_normal_settle(&net->item_normal);
    for (j = 0; raw && j < inputs + width; j++) { /* what is not to be normalised */
        rllb_i_normal *n = j < inputs ? &net->normal : &net->item_normal;
        int32_t at = j < inputs ? j : j - inputs;
        if (raw[j]) n->shift[at] = 0;
        if (raw[j]) n->scale[at] = 1;
    }
    return RLLB_OK;
}

static rllb_nn_work *rllb_i_work_layout(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items, bool train,
                                        rllb_carver *c)
{
    rllb_nn_work w, *work = (rllb_nn_work *)rllb_carve(c, 1, sizeof *work);
    bool set = net->desc.item_inputs > 0;
    int32_t all = rows * steps, sequences = rows * items, n;
    int32_t x_rows = set ? all * items : all, x_cols = set ? net->desc.item_inputs : net->desc.inputs;
    size_t largest = 0;

    memset(&w, 0, sizeof w);
    w.rows = rows;
    w.steps = steps;
    w.items = items;
    w.train = train;
    w.x = (float *)rllb_carve(c, rllb_nn_tensor_floats(x_rows, x_cols), sizeof(float));
    if (set) w.global = (float *)rllb_carve(c, (size_t)all * (size_t)net->desc.inputs, sizeof(float));
    for (n = 0; n < net->layers; n++) {
        const rllb_i_layer *l = &net->layer[n];
        int32_t mine = l->item ? all * items : all, wide = 3 * rllb_i_padded(l->out);
        size_t floats = rllb_nn_tensor_floats(mine, l->out), back = 0;
        w.y[n] = (float *)rllb_carve(c, floats, sizeof(float));
        if (l->norm) w.normal[n] = (float *)rllb_carve(c, floats, sizeof(float));
        if (l->norm) w.inverse[n] = (float *)rllb_carve(c, (size_t)mine, sizeof(float));
        if (train) w.d[n] = (float *)rllb_carve(c, floats, sizeof(float));
        if (l->kind == RLLB_I_LAYER_DENSE && !l->narrow) back = rllb_nn_tensor_floats(l->out, l->in);
        if (l->kind == RLLB_I_LAYER_GRU) back = rllb_nn_tensor_floats(wide, l->in > l->out ? l->in : l->out);
        if (l->kind == RLLB_I_LAYER_POOL && train) {
            w.greatest = (int32_t *)rllb_carve(c, (size_t)all * (size_t)l->in, sizeof(int32_t));
        }
        if (back > largest) largest = back;
        if (l->kind != RLLB_I_LAYER_GRU) continue;
        if (!l->item) sequences = rows;
        w.gates = (float *)rllb_carve(c, rllb_nn_tensor_floats(train ? mine : sequences, wide), sizeof(float));
        w.h = (float *)rllb_carve(c, rllb_nn_tensor_floats(sequences, l->out), sizeof(float));
        w.h_gates = (float *)rllb_carve(c, rllb_nn_tensor_floats(sequences, wide), sizeof(float));
        if (!train) continue;
        w.given = (float *)rllb_carve(c, floats, sizeof(float));
        w.start = (float *)rllb_carve(c, rllb_nn_tensor_floats(sequences, l->out), sizeof(float));
        w.dh = (float *)rllb_carve(c, rllb_nn_tensor_floats(sequences, l->out), sizeof(float));
    }
    if (train) w.dx = (float *)rllb_carve(c, rllb_nn_tensor_floats(x_rows, x_cols), sizeof(float));
    if (train) w.transposed = (float *)rllb_carve(c, largest, sizeof(float));
    if (work) *work = w;
    return work;
}

size_t rllb_nn_pass_size(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items, bool train)
{
    rllb_carver c = { NULL, 0 };

    if (!net || rows < 1 || steps < 1 || items < 1 || (!net->desc.item_inputs && items > 1)) return 0;
    if ((int64_t)rows * steps > (1 << 24) || (int64_t)rows * steps * items > (1 << 24)) return 0;
    rllb_i_work_layout(net, rows, steps, items, train, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_pass_init(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items, bool train, void *mem,
                              size_t size, rllb_nn_work **out)
{
    rllb_carver c = { NULL, 0 };
    size_t needed = rllb_nn_pass_size(net, rows, steps, items, train);
    rllb_status status;

    if (!out || !needed) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&c, mem, size, needed);
    if (status == RLLB_OK) *out = rllb_i_work_layout(net, rows, steps, items, train, &c);
    return status;
}

rllb_nn_work *rllb_nn_pass_create(const rllb_nn_net *net, int32_t rows, int32_t steps, int32_t items, bool train)
{
    size_t size = rllb_nn_pass_size(net, rows, steps, items, train);
    void *block = rllb_block_alloc(size);
    rllb_nn_work *work = NULL;

    if (block && rllb_nn_pass_init(net, rows, steps, items, train, block, size, &work) == RLLB_OK) {
        work->block = block;
        return work;
    }
    rllb_block_free(block);
    return NULL;
}

size_t rllb_nn_work_size(const rllb_nn_net *net, int32_t rows, bool train)
{
    return rllb_nn_pass_size(net, rows, 1, 1, train);
}

rllb_status rllb_nn_work_init(const rllb_nn_net *net, int32_t rows, bool train, void *mem, size_t size,
                              rllb_nn_work **out)
{
    return rllb_nn_pass_init(net, rows, 1, 1, train, mem, size, out);
}

rllb_nn_work *rllb_nn_work_create(const rllb_nn_net *net, int32_t rows, bool train)
{
    return rllb_nn_pass_create(net, rows, 1, 1, train);
}

void rllb_nn_work_destroy(rllb_nn_work *work)
{
    if (work) rllb_block_free(work->block);
}

static float *rllb_i_element(float *data, int32_t rows, int32_t r, int32_t c)
{
    return data + (size_t)(c / RLLB_NN_PANEL) * (size_t)rows * RLLB_NN_PANEL + (size_t)r * RLLB_NN_PANEL +
           (size_t)(c % RLLB_NN_PANEL);
}

/* (x - shift) * scale, kept within 10 standard deviations. NaN stays. */
static float rllb_i_normalised(const rllb_i_normal *n, int32_t column, float x)
{
    float v = (x - n->shift[column]) * n->scale[column];
    return v > 10 ? 10 : v < -10 ? -10 : v;
}

static void rllb_i_normal_apply(const rllb_i_normal *n, float *data, int32_t rows)
{
    int32_t r, c;

    for (c = 0; c < n->width; c++) {
        float *column = rllb_i_element(data, rows, 0, c);
        for (r = 0; r < rows; r++) {
            column[(size_t)r * RLLB_NN_PANEL] = rllb_i_normalised(n, c, column[(size_t)r * RLLB_NN_PANEL]);
        }
    }
}

/* Observations [rows][inputs + items * item_inputs] into panels: rows, or items of rows. */
static void rllb_i_load_x(const rllb_nn_net *net, rllb_nn_work *work, const float *x, int32_t rows, int32_t items)
{
    int32_t globals = net->desc.inputs, width = net->desc.item_inputs, r, i, c;
    rllb_nn_tensor t;

    t.data = work->x;
    t.rows = rows;
    t.cols = globals;
    if (!width) {
        rllb_nn_tensor_load(&t, x, (size_t)globals);
        if (net->normal.width) rllb_i_normal_apply(&net->normal, work->x, rows);
        return;
    }
    t.rows = rows * items;
    t.cols = width;
    if (!globals) {
        rllb_nn_tensor_load(&t, x, (size_t)width);
    } else {
        memset(work->x, 0, rllb_nn_tensor_floats(t.rows, width) * sizeof(float));
        for (r = 0; r < rows; r++) {
            const float *row = x + (size_t)r * ((size_t)globals + (size_t)items * (size_t)width);
            float *global = work->global + (size_t)r * (size_t)globals;
            memcpy(global, row, (size_t)globals * sizeof(float));
            for (c = 0; net->normal.width && c < globals; c++) {
                global[c] = rllb_i_normalised(&net->normal, c, global[c]);
            }
            for (i = 0; i < items; i++) {
                const float *from = row + globals + i * width;
                for (c = 0; c < width; c++) *rllb_i_element(work->x, t.rows, r * items + i, c) = from[c];
            }
        }
    }
    if (net->item_normal.width) rllb_i_normal_apply(&net->item_normal, work->x, t.rows);
}

static int32_t rllb_i_count_of(const rllb_nn_work *work, int32_t row)
{
    int32_t count = work->counts ? work->counts[row % work->now_sequences] : work->now_items;

    return count < 0 ? 0 : count > work->now_items ? work->now_items : count;
}

/* Rounds to a multiple of 2^-26, within 16,384 either way. Sums of such numbers are exact in double precision, and so
   do not depend on their order: permuting the items of a set changes no bit of their mean. */
static double rllb_i_grain(float x)
{
    double v = x > 16384.0f ? 16384.0 : x < -16384.0f ? -16384.0 : (double)x;
    return (v + 100663296.0) - 100663296.0; /* 1.5 * 2^26 */
}

/* Mean and greatest over the items that are there, then what concerns them all. */
static void rllb_i_pool_forward(const rllb_nn_net *net, rllb_nn_work *work, int32_t n)
{
    const rllb_i_layer *l = &net->layer[n];
    int32_t rows = work->now_rows, items = work->now_items, width = l->in, r, i, c;
    float *x = l->input < 0 ? work->x : work->y[l->input], *y = work->y[n];

    memset(y, 0, rllb_nn_tensor_floats(rows, l->out) * sizeof(float));
    for (c = 0; c < width; c++) {
        for (r = 0; r < rows; r++) {
            const float *at = rllb_i_element(x, rows * items, r * items, c);
            int32_t count = rllb_i_count_of(work, r), best = 0;
            double sum = 0;
            for (i = 0; i < count; i++) {
                float v = at[(size_t)i * RLLB_NN_PANEL];
                sum += rllb_i_grain(v);
                if (v > at[(size_t)best * RLLB_NN_PANEL]) best = i;
            }
            if (work->greatest) work->greatest[(size_t)r * (size_t)width + (size_t)c] = best;
            if (!count) continue;
            *rllb_i_element(y, rows, r, c) = (float)(sum / count);
            *rllb_i_element(y, rows, r, width + c) = at[(size_t)best * RLLB_NN_PANEL];
        }
    }
    for (c = 0; c < net->desc.inputs; c++) {
        for (r = 0; r < rows; r++) {
            *rllb_i_element(y, rows, r, 2 * width + c) = work->global[(size_t)r * (size_t)net->desc.inputs + (size_t)c];
        }
    }
}

static void rllb_i_pool_backward(const rllb_nn_net *net, rllb_nn_work *work, int32_t n, float *into, bool accumulate)
{
    const rllb_i_layer *l = &net->layer[n];
    int32_t rows = work->now_rows, items = work->now_items, width = l->in, r, i, c;
    float *d = work->d[n];

    if (!into) return;
    if (!accumulate) memset(into, 0, rllb_nn_tensor_floats(rows * items, width) * sizeof(float));
    for (c = 0; c < width; c++) {
        for (r = 0; r < rows; r++) {
            float *at = rllb_i_element(into, rows * items, r * items, c);
            int32_t count = rllb_i_count_of(work, r), best = work->greatest[(size_t)r * (size_t)width + (size_t)c];
            float share = count ? *rllb_i_element(d, rows, r, c) / (float)count : 0;
            for (i = 0; i < count; i++) at[(size_t)i * RLLB_NN_PANEL] += share;
            if (count) at[(size_t)best * RLLB_NN_PANEL] += *rllb_i_element(d, rows, r, width + c);
        }
    }
}

/* Every item's row of `to` = the row of its set, or (back) the sum over the items' rows. */
static void rllb_i_spread(const rllb_nn_work *work, float *set, float *item, int32_t cols, bool back)
{
    int32_t rows = work->now_rows, items = work->now_items, p, r, i, j;

    for (p = 0; p < rllb_i_panels(cols); p++) {
        for (r = 0; r < rows; r++) {
            float *one = set + ((size_t)p * (size_t)rows + (size_t)r) * RLLB_NN_PANEL;
            float *each = item + ((size_t)p * (size_t)rows + (size_t)r) * (size_t)items * RLLB_NN_PANEL;
            if (back) memset(one, 0, RLLB_NN_PANEL * sizeof(float));
            for (i = 0; i < items; i++, each += RLLB_NN_PANEL) {
                if (!back) memcpy(each, one, RLLB_NN_PANEL * sizeof(float));
                for (j = 0; back && j < RLLB_NN_PANEL; j++) one[j] += each[j];
            }
        }
    }
}

/* Cho et al. 2014 with PyTorch's place of the reset gate: r = s(W_r x + U_r h), z = s(W_z x + U_z h),
   n = tanh(W_n x + r (U_n h)), h' = (1 - z) n + z h; every product with a bias. */
static void rllb_i_gru_forward(const rllb_nn_net *net, rllb_nn_work *work, int32_t n, int32_t steps)
{
    const rllb_nn_kernels *k = net->k;
    const rllb_i_layer *l = &net->layer[n];
    int32_t all = l->item ? work->now_rows * work->now_items : work->now_rows, rows = all / steps, t;
    int32_t panels = rllb_i_panels(l->out), wide = 3 * panels * RLLB_NN_PANEL, kept = work->train ? all : rows;
    const float *x = l->input < 0 ? work->x : work->y[l->input], *w = net->data + l->weight, *b = net->data + l->bias;
    const float *u = net->data + l->state_weight, *state_bias = net->data + l->state_bias;
    ptrdiff_t step = (ptrdiff_t)rows * RLLB_NN_PANEL, panel = (ptrdiff_t)all * RLLB_NN_PANEL;

    if (work->train) memcpy(work->start, work->h, rllb_nn_tensor_floats(rows, l->out) * sizeof(float));
    for (t = 0; t < steps; t++) {
        int32_t depth = t == 0 && work->from_zero ? 0 : l->out;
        float *gates = work->gates + (work->train ? t * step : 0);
        if (all == 1) k->vector(x, w, b, gates, l->in, wide, 1);
        else k->slice_nn(x + t * step, all, w, l->in, gates, kept, rows, wide, l->in, b, 1, 0);
        if (rows == 1) k->vector(work->h, u, state_bias, work->h_gates, l->out, wide, 1);
        else k->slice_nn(work->h, rows, u, l->out, work->h_gates, rows, rows, wide, depth, state_bias, 1, 0);
        k->gru(gates, (ptrdiff_t)kept * RLLB_NN_PANEL, work->h_gates, work->h, work->y[n] + t * step,
               work->train ? work->given + t * step : NULL, panel, rows, panels);
    }
}

/* Gradient by the state's weights to `cols` columns of gates, by which the gradients are d. The state before a step is
   what the step before gave, or what it all began with. */
static void rllb_i_gru_by_state(const rllb_nn_net *net, const rllb_nn_work *work, int32_t n, int32_t rows, int32_t all,
                                const float *d, int32_t cols, float *gradient)
{
    const rllb_nn_kernels *k = net->k;
    int32_t out = net->layer[n].out;
    bool zero = work->from_zero;

    if (!zero) k->slice_tn(work->start, rows, d, all, gradient, out, out, cols, rows, NULL, 1, 0);
    k->slice_tn(work->y[n], all, d + (size_t)rows * RLLB_NN_PANEL, all, gradient, out, out, cols, all - rows, NULL, 1,
                !zero);
}

static void rllb_i_gru_backward(const rllb_nn_net *net, rllb_nn_work *work, int32_t n, int32_t steps, int32_t burn,
                                float *gradient, float *into, bool accumulate)
{
    const rllb_nn_kernels *k = net->k;
    const rllb_i_layer *l = &net->layer[n];
    int32_t all = l->item ? work->now_rows * work->now_items : work->now_rows, rows = all / steps, t, p;
    int32_t panels = rllb_i_panels(l->out), padded = panels * RLLB_NN_PANEL, wide = 3 * padded;
    const float *x = l->input < 0 ? work->x : work->y[l->input];
    size_t step = (size_t)rows * RLLB_NN_PANEL, panel = (size_t)all * RLLB_NN_PANEL, n_gate = 2 * (size_t)padded;
    float *by_state = gradient + l->state_weight, *by_bias = gradient + l->bias, *u = work->transposed;

    memset(work->dh, 0, rllb_nn_tensor_floats(rows, l->out) * sizeof(float));
    k->transpose(net->data + l->state_weight, l->out, wide, u);
    for (t = steps - 1; t >= burn; t--) {
        size_t at = (size_t)t * step;
        k->gru_back(work->gates + at, work->given + at, t ? work->y[n] + at - step : work->start,
                    (ptrdiff_t)(t ? panel : step), work->d[n] + at, (ptrdiff_t)panel, work->dh, rows, panels);
        if (t == burn) break; /* nothing flows into the steps that only warm the state up, or into the first state */
        k->slice_nn(work->gates + at, all, u, wide, work->dh, rows, rows, l->out, 2 * padded, NULL, 1, 1);
        k->slice_nn(work->given + at, all, u + n_gate * RLLB_NN_PANEL, wide, work->dh, rows, rows, l->out, padded, NULL,
                    1, 1);
    }
    for (p = 0; burn > 0 && p < 3 * panels; p++) {
        memset(work->gates + (size_t)p * panel, 0, (size_t)burn * step * sizeof(float));
        if (p < panels) memset(work->given + (size_t)p * panel, 0, (size_t)burn * step * sizeof(float));
    }
    k->column_sums(work->gates, all, wide, by_bias);
    memcpy(gradient + l->state_bias, by_bias, n_gate * sizeof(float));
    k->column_sums(work->given, all, padded, gradient + l->state_bias + n_gate);
    k->multiply_tn(x, work->gates, gradient + l->weight, l->in, wide, all, NULL, 1, 0);
    rllb_i_gru_by_state(net, work, n, rows, all, work->gates, 2 * padded, by_state);
    rllb_i_gru_by_state(net, work, n, rows, all, work->given, padded, by_state + n_gate * (size_t)l->out);
    if (!into) return;
    k->transpose(net->data + l->weight, l->in, wide, work->transposed);
    k->multiply_nn(work->gates, work->transposed, into, all, l->in, wide, NULL, 1, accumulate);
}

static void rllb_i_dense_forward(const rllb_nn_net *net, rllb_nn_work *work, int32_t n, int32_t rows)
{
    const rllb_nn_kernels *k = net->k;
    const rllb_i_layer *l = &net->layer[n];
    const float *x = l->input < 0 ? work->x : work->y[l->input], *w = net->data + l->weight, *b = net->data + l->bias;
    float *y = work->y[n];

    if (l->context >= 0 && rows > 1) rllb_i_spread(work, work->y[l->context], y, l->out, false);
    if (l->narrow) k->dots(x, rows, l->in, w, b, y, l->out);
    else if (rows == 1) k->vector(x, w, l->context >= 0 ? work->y[l->context] : b, y, l->in, l->out, l->slope);
    else k->multiply_nn(x, w, y, rows, l->out, l->in, b, l->slope, l->context >= 0);
    if (l->norm) {
        k->norm(y, rows, l->out, net->data + l->gain, net->data + l->shift, work->normal[n], y, work->inverse[n]);
    }
    if (l->apart) rllb_i_activate(k, l->activation, y, rows, l->out, net->desc.leak);
}

/* Through all layers; the observation is loaded, the state (of a GRU) in place. */
static void rllb_i_net_forward(const rllb_nn_net *net, rllb_nn_work *work, int32_t steps)
{
    int32_t n;

    for (n = 0; n < net->layers; n++) {
        const rllb_i_layer *l = &net->layer[n];
        int32_t rows = l->item ? work->now_rows * work->now_items : work->now_rows;
        if (l->kind == RLLB_I_LAYER_DENSE) rllb_i_dense_forward(net, work, n, rows);
        else if (l->kind == RLLB_I_LAYER_GRU) rllb_i_gru_forward(net, work, n, steps);
        else rllb_i_pool_forward(net, work, n);
    }
}

/* What of a pass fits the work, as rows of all steps and so on. */
static int32_t rllb_i_pass_enter(const rllb_nn_net *net, rllb_nn_work *work, const rllb_nn_pass *pass)
{
    int32_t steps = pass->steps > 0 ? pass->steps : 1, rows = pass->rows, items = pass->items;

    if (steps > work->steps) steps = work->steps;
    if (items < 1 || items > work->items) items = work->items;
    if (rows > work->rows) rows = work->rows;
    work->now_sequences = rows;
    work->now_rows = rows * steps;
    work->now_items = items;
    work->counts = net->desc.item_inputs ? pass->counts : NULL;
    return steps;
}

/* Q = V + A - mean A, the mean over each head's outputs. */
static void rllb_i_duel(const rllb_nn_net *net, const rllb_nn_work *work, float *y, int32_t rows)
{
    int32_t heads = net->desc.heads, width = net->desc.outputs / heads, r, h, o;

    for (r = 0; r < rows; r++) {
        for (h = 0; h < heads; h++) {
            float *q = y + ((size_t)r * (size_t)heads + (size_t)h) * (size_t)width, mean = 0, shift;
            for (o = 0; o < width; o++) mean += q[o];
            shift = work->y[net->value][(size_t)r * RLLB_NN_PANEL] - mean / (float)width;
            for (o = 0; o < width; o++) q[o] += shift;
        }
    }
}

/* Gradients by the dueling streams: dV = sum dQ, dA = dQ - mean dQ. `a` holds dQ in panels. */
static void rllb_i_duel_back(const rllb_nn_net *net, rllb_nn_work *work, const float *dy, float *a, int32_t rows)
{
    int32_t heads = net->desc.heads, width = net->desc.outputs / heads, r, h, o;

    memset(work->d[net->value], 0, rllb_nn_tensor_floats(rows, 1) * sizeof(float));
    for (r = 0; r < rows; r++) {
        for (h = 0; h < heads; h++) {
            const float *dq = dy + ((size_t)r * (size_t)heads + (size_t)h) * (size_t)width;
            float sum = 0;
            for (o = 0; o < width; o++) sum += dq[o];
            work->d[net->value][(size_t)r * RLLB_NN_PANEL] += sum;
            for (o = 0; o < width; o++) *rllb_i_element(a, rows, r, h * width + o) -= sum / (float)width;
        }
    }
}

/* Outputs in panels to rows of [items][item_outputs], then [outputs]. */
static void rllb_i_set_save(const rllb_nn_net *net, const rllb_nn_work *work, float *y)
{
    int32_t rows = work->now_rows, items = work->now_items, each = net->desc.item_outputs, r, c;
    size_t stride = (size_t)rllb_nn_net_outputs(net, items);
    rllb_nn_tensor t;

    t.data = work->y[net->last];
    t.rows = rows * items;
    t.cols = each;
    if (net->common < 0) {
        rllb_nn_tensor_save(&t, y, (size_t)each);
        return;
    }
    for (r = 0; r < t.rows; r++) {
        float *row = y + (size_t)(r / items) * stride + (size_t)(r % items) * (size_t)each;
        for (c = 0; c < each; c++) row[c] = *rllb_i_element(t.data, t.rows, r, c);
    }
    t.data = work->y[net->common];
    t.rows = rows;
    t.cols = net->desc.outputs;
    rllb_nn_tensor_save(&t, y + (size_t)items * (size_t)each, stride);
}

/* Gradients by them the other way. */
static void rllb_i_set_load(const rllb_nn_net *net, rllb_nn_work *work, const float *dy)
{
    int32_t rows = work->now_rows, items = work->now_items, each = net->desc.item_outputs, r, c;
    size_t stride = (size_t)rllb_nn_net_outputs(net, items);
    rllb_nn_tensor t;

    t.data = work->d[net->last];
    t.rows = rows * items;
    t.cols = each;
    if (net->common < 0) {
        rllb_nn_tensor_load(&t, dy, (size_t)each);
        return;
    }
    memset(t.data, 0, rllb_nn_tensor_floats(t.rows, each) * sizeof(float));
    for (r = 0; r < t.rows; r++) {
        const float *row = dy + (size_t)(r / items) * stride + (size_t)(r % items) * (size_t)each;
        for (c = 0; c < each; c++) *rllb_i_element(t.data, t.rows, r, c) = row[c];
    }
    t.data = work->d[net->common];
    t.rows = rows;
    t.cols = net->desc.outputs;
    rllb_nn_tensor_load(&t, dy + (size_t)items * (size_t)each, stride);
}

void rllb_nn_pass_forward(const rllb_nn_net *net, rllb_nn_work *work, const rllb_nn_pass *pass, float *y)
{
    int32_t steps = rllb_i_pass_enter(net, work, pass), rows = work->now_rows, outputs = net->desc.outputs;
    int32_t sequences = work->now_sequences * (net->desc.item_inputs ? work->now_items : 1);
    rllb_nn_tensor t, h;

    h.data = work->h;
    h.rows = sequences;
    h.cols = net->desc.gru;
    work->from_zero = !pass->state;
    if (net->gru >= 0 && pass->state) rllb_nn_tensor_load(&h, pass->state, (size_t)h.cols);
    else if (net->gru >= 0) memset(work->h, 0, rllb_nn_tensor_floats(sequences, h.cols) * sizeof(float));
    rllb_i_load_x(net, work, pass->x, rows, work->now_items);
    rllb_i_net_forward(net, work, steps);
    if (net->gru >= 0 && pass->state) rllb_nn_tensor_save(&h, pass->state, (size_t)h.cols);
    if (net->desc.item_inputs) {
        rllb_i_set_save(net, work, y);
        return;
    }
    t.data = work->y[net->last];
    t.rows = rows;
    t.cols = outputs;
    rllb_nn_tensor_save(&t, y, (size_t)outputs);
    if (net->value >= 0) rllb_i_duel(net, work, y, rows);
}

/* Gradients of one layer's parameters; passes the rest on to what feeds it. */
static void rllb_i_dense_backward(const rllb_nn_net *net, rllb_nn_work *work, int32_t n, int32_t rows, float *gradient,
                                  float *into, bool accumulate)
{
    const rllb_nn_kernels *k = net->k;
    const rllb_i_layer *l = &net->layer[n];
    const float *x = l->input < 0 ? work->x : work->y[l->input], *w = net->data + l->weight;
    float *d = work->d[n];

    if (l->activation != RLLB_NN_LINEAR) {
        k->activate_back(l->activation, work->y[n], d, rllb_nn_tensor_floats(rows, l->out),
                         rllb_i_leak(l->activation, net->desc.leak));
    }
    if (l->norm) {
        k->norm_back(d, work->normal[n], rows, l->out, net->data + l->gain, work->inverse[n], gradient + l->gain,
                     gradient + l->shift);
    }
    if (l->context < 0) k->column_sums(d, rows, l->out, gradient + l->bias);
    else rllb_i_spread(work, work->d[l->context], d, l->out, true);
    if (l->narrow) {
        k->multiply_tn(d, x, gradient + l->weight, l->out, l->in, rows, NULL, 1, 0);
        if (into) k->multiply_nn(d, w, into, rows, l->in, l->out, NULL, 1, accumulate);
    } else {
        k->multiply_tn(x, d, gradient + l->weight, l->in, l->out, rows, NULL, 1, 0);
        if (!into) return;
        k->transpose(w, l->in, l->out, work->transposed);
        k->multiply_nn(d, work->transposed, into, rows, l->in, l->out, NULL, 1, accumulate);
    }
}

/* What a gradient by a normalised column is by the column itself: none where it was cut off. */
static float rllb_i_by_raw(const rllb_i_normal *n, int32_t column, float normalised, float d)
{
    if (!n->width) return d;
    return normalised >= 10 || normalised <= -10 ? 0 : d * n->scale[column];
}

/* dx from panels to rows. */
static void rllb_i_save_dx(const rllb_nn_net *net, const rllb_nn_work *work, float *dx)
{
    int32_t rows = work->now_rows, items = work->now_items, globals = net->desc.inputs, width = net->desc.item_inputs;
    int32_t all = width ? rows * items : rows, pool, r, c;
    size_t stride = (size_t)rllb_nn_net_inputs(net, items);
    const rllb_i_normal *normal = width ? &net->item_normal : &net->normal;

    for (pool = 0; width && net->layer[pool].kind != RLLB_I_LAYER_POOL;) pool++;
    for (r = 0; r < all; r++) {
        float *row = dx + (size_t)(width ? r / items : r) * stride;
        if (width) row += globals + r % items * width;
        for (c = 0; c < (width ? width : globals); c++) {
            float x = *rllb_i_element(work->x, all, r, c);
            row[c] = rllb_i_by_raw(normal, c, x, *rllb_i_element(work->dx, all, r, c));
        }
    }
    for (r = 0; width && r < rows; r++) {
        for (c = 0; c < globals; c++) {
            dx[(size_t)r * stride + (size_t)c] =
                rllb_i_by_raw(&net->normal, c, work->global[(size_t)r * (size_t)globals + (size_t)c],
                              *rllb_i_element(work->d[pool], rows, r, 2 * net->layer[pool].in + c));
        }
    }
}

void rllb_nn_pass_backward(const rllb_nn_net *net, rllb_nn_work *work, const rllb_nn_pass *pass, const float *dy,
                           float *gradient, float *dx)
{
    bool written[RLLB_I_LAYERS_MAX] = { false }, x_written = false;
    int32_t steps, rows, n, outputs = net->desc.outputs;
    float *last = work->d[net->last];
    rllb_nn_tensor t;

    if (!work->train) return;
    steps = rllb_i_pass_enter(net, work, pass);
    rows = work->now_rows;
    if (net->desc.item_inputs) {
        rllb_i_set_load(net, work, dy);
    } else {
        t.data = last;
        t.rows = rows;
        t.cols = outputs;
        rllb_nn_tensor_load(&t, dy, (size_t)outputs);
        if (net->value >= 0) rllb_i_duel_back(net, work, dy, last, rows);
    }
    for (n = net->layers - 1; n >= 0; n--) {
        const rllb_i_layer *l = &net->layer[n];
        int32_t input = l->input;
        float *into = input >= 0 ? work->d[input] : dx ? work->dx : NULL;
        bool add = input >= 0 ? written[input] : x_written;
        if (l->kind == RLLB_I_LAYER_DENSE) {
            rllb_i_dense_backward(net, work, n, rows * (l->item ? work->now_items : 1), gradient, into, add);
        } else if (l->kind == RLLB_I_LAYER_GRU) {
            rllb_i_gru_backward(net, work, n, steps, pass->burn < steps ? pass->burn : steps, gradient, into, add);
        } else {
            rllb_i_pool_backward(net, work, n, into, add);
        }
        if (input >= 0) written[input] = true;
        else x_written = true;
    }
    if (dx) rllb_i_save_dx(net, work, dx);
}

static rllb_nn_pass rllb_i_plain_pass(const float *x, int32_t rows)
{
    rllb_nn_pass pass;

    memset(&pass, 0, sizeof pass);
    pass.x = x;
    pass.rows = rows;
    return pass;
}

/* Rows through a network without state and items; the fewer steps the better, where one row takes 150 ns. */
static void rllb_i_rows_forward(const rllb_nn_net *net, rllb_nn_work *work, const float *x, int32_t rows)
{
    rllb_nn_tensor t;
    int32_t n;

    t.data = work->x;
    t.rows = work->now_rows = work->now_sequences = rows;
    t.cols = net->desc.inputs;
    work->now_items = 1;
    rllb_nn_tensor_load(&t, x, (size_t)t.cols);
    if (net->normal.width) rllb_i_normal_apply(&net->normal, work->x, rows);
    for (n = 0; n < net->layers; n++) rllb_i_dense_forward(net, work, n, rows);
}

static bool rllb_i_is_plain(const rllb_nn_net *net)
{
    return net->gru < 0 && net->desc.item_inputs == 0;
}

void rllb_nn_forward(const rllb_nn_net *net, rllb_nn_work *work, const float *x, int32_t rows, float *y)
{
    rllb_nn_tensor t;

    if (!rllb_i_is_plain(net)) {
        rllb_nn_pass pass = rllb_i_plain_pass(x, rows);
        pass.items = work->items;
        rllb_nn_pass_forward(net, work, &pass, y);
        return;
    }
    if (rows > work->rows) rows = work->rows;
    rllb_i_rows_forward(net, work, x, rows);
    t.data = work->y[net->last];
    t.rows = rows;
    t.cols = net->desc.outputs;
    rllb_nn_tensor_save(&t, y, (size_t)t.cols);
    if (net->value >= 0) rllb_i_duel(net, work, y, rows);
}

void rllb_nn_backward(const rllb_nn_net *net, rllb_nn_work *work, const float *dy, int32_t rows, float *gradient,
                      float *dx)
{
    rllb_nn_pass pass = rllb_i_plain_pass(NULL, rows);

    pass.items = work->items;
    rllb_nn_pass_backward(net, work, &pass, dy, gradient, dx);
}

/* First index of the largest of n values that the mask allows; NaN loses. -1 if the mask allows none. */
static int32_t rllb_i_argmax(const float *value, const unsigned char *mask, int32_t n)
{
    int32_t i, best = -1;

    for (i = 0; i < n; i++) {
        if (mask && !mask[i]) continue;
        if (best < 0 || value[i] > value[best] || (value[best] != value[best] && value[i] == value[i])) best = i;
    }
    return best;
}

int32_t rllb_nn_best(const rllb_nn_net *net, rllb_nn_work *work, const float *x, const unsigned char *mask)
{
    if (net->desc.item_inputs) return -1;
    if (rllb_i_is_plain(net)) {
        rllb_i_rows_forward(net, work, x, 1);
    } else {
        rllb_nn_pass pass = rllb_i_plain_pass(x, 1);
        int32_t steps = rllb_i_pass_enter(net, work, &pass);
        work->from_zero = true;
        memset(work->h, 0, rllb_nn_tensor_floats(1, net->desc.gru) * sizeof(float));
        rllb_i_load_x(net, work, x, 1, 1);
        rllb_i_net_forward(net, work, steps);
    }
    /* A single row in panels is a plain array, and V - mean A does not change which Q of a head is largest. */
    if (net->value >= 0 && net->desc.heads > 1) rllb_i_duel(net, work, work->y[net->last], 1);
    return rllb_i_argmax(work->y[net->last], mask, net->desc.outputs);
}

int32_t rllb_nn_greedy_choose(void *self, const float *observation, int32_t observations)
{
    const rllb_nn_greedy *g = (const rllb_nn_greedy *)self;

    if (!g || !observation || observations != g->net->desc.inputs) return -1;
    return rllb_nn_best(g->net, g->work, observation, NULL);
}

/* ---- >>losses ----------------------------------------------------------------------------------------------------
   Pure functions. */

/* Loss of one error and its slope. */
static float rllb_i_loss(rllb_nn_loss kind, float beta, float error, float *slope)
{
    float size = error < 0 ? -error : error;

    if (kind == RLLB_NN_MSE) {
        *slope = 2 * error;
        return error * error;
    }
    *slope = size < beta ? error / beta : (error < 0 ? -1.0f : 1.0f);
    return size < beta ? 0.5f * error * error / beta : size - 0.5f * beta;
}

float rllb_nn_loss_mean(rllb_nn_loss kind, float beta, const float *predicted, const float *target,
                        const unsigned char *mask, size_t n, float *gradient)
{
    double sum = 0;
    size_t i, counted = 0;

    if (!(beta > 0)) beta = 1;
    for (i = 0; i < n; i++) counted += !mask || mask[i];
    for (i = 0; i < n; i++) {
        float slope = 0;
        if (!mask || mask[i]) sum += (double)rllb_i_loss(kind, beta, predicted[i] - target[i], &slope);
        if (gradient) gradient[i] = counted ? slope / (float)counted : 0;
    }
    return counted ? (float)(sum / (double)counted) : 0;
}

/* ---- >>schedules -------------------------------------------------------------------------------------------------
   Pure functions of a step. */

/* base^n by squaring: the same bits everywhere, which libm's pow does not promise. */
static double rllb_i_power(double base, int64_t n)
{
    double power = 1;

    for (; n > 0; n /= 2, base *= base) {
        if (n % 2) power *= base;
    }
    return power;
}

double rllb_nn_schedule_at(const rllb_nn_schedule *s, int64_t step)
{
    double progress, value;

    if (step < 0) step = 0;
    if (step < s->warmup) return s->from * (double)(step + 1) / (double)(s->warmup + 1);
    step -= s->warmup > 0 ? s->warmup : 0;
    progress = s->steps > 0 && step < s->steps ? (double)step / (double)s->steps : 1;
    switch (s->curve) {
    case RLLB_NN_LINEAR_DECAY: return s->from + (s->to - s->from) * progress;
    case RLLB_NN_COSINE: return s->to + (s->from - s->to) * 0.5 * (1 + cos(3.14159265358979323846 * progress));
    case RLLB_NN_EXPONENTIAL:
        value = s->from * rllb_i_power(s->rate, step);
        return s->from >= s->to ? (value > s->to ? value : s->to) : (value < s->to ? value : s->to);
    case RLLB_NN_CONSTANT:
    case RLLB_NN_CURVE_NUM: break;
    }
    return s->from;
}

/* Counts one more, whatever a damaged file has put there. */
static int64_t rllb_i_tick(int64_t *counter)
{
    *counter = *counter < 0 ? 1 : *counter < INT64_MAX ? *counter + 1 : INT64_MAX;
    return *counter;
}

/* ---- >>optimiser -------------------------------------------------------------------------------------------------
   Owns the two moments of every parameter and the step count; the parameters are the caller's. */

struct rllb_nn_opt {
    rllb_nn_opt_desc desc; /* resolved */
    const rllb_nn_kernels *k;
    size_t floats;
    int64_t steps[1]; /* an array, so that it can be saved like one */
    float *m, *v;     /* [floats] */
    void *block;
};

static bool rllb_i_opt_plan(const rllb_nn_opt_desc *desc, size_t floats, rllb_nn_opt *opt)
{
    rllb_nn_opt_desc *d = &opt->desc;

    memset(opt, 0, sizeof *opt);
    if (!desc || !floats || floats % RLLB_NN_PANEL) return false;
    *d = *desc;
    opt->floats = floats;
    if (d->kind == RLLB_NN_OPT_DEFAULT) d->kind = RLLB_NN_ADAM;
    if ((int)d->kind < 0 || d->kind >= RLLB_NN_OPT_NUM) return false;
    if ((int)d->lr.curve < 0 || d->lr.curve >= RLLB_NN_CURVE_NUM) return false;
    if (d->lr.from == 0) d->lr.from = d->kind == RLLB_NN_ADAM || d->kind == RLLB_NN_ADAMW ? 1e-3 : 1e-2;
    if (d->beta1 == 0) d->beta1 = 0.9f;
    if (d->beta2 == 0) d->beta2 = 0.999f;
    if (d->alpha == 0) d->alpha = 0.99f;
    if (d->eps == 0) d->eps = 1e-8f;
    if (d->weight_decay == 0 && d->kind == RLLB_NN_ADAMW) d->weight_decay = 0.01f;
    return d->lr.from > 0 && d->lr.from < 1e6 && d->beta1 > 0 && d->beta1 < 1 && d->beta2 > 0 && d->beta2 < 1 &&
           d->alpha > 0 && d->alpha < 1 && d->momentum >= 0 && d->momentum < 1 && d->eps > 0 && d->eps < 1 &&
           d->weight_decay >= 0 && d->weight_decay < 1 && d->clip_norm >= 0 && d->clip_norm < 1e30f;
}

static rllb_nn_opt *rllb_i_opt_layout(const rllb_nn_opt *plan, rllb_carver *c)
{
    rllb_nn_opt *opt = (rllb_nn_opt *)rllb_carve(c, 1, sizeof *opt);
    float *m = (float *)rllb_carve(c, plan->floats, sizeof(float));
    float *v = (float *)rllb_carve(c, plan->floats, sizeof(float));
    if (opt) {
        *opt = *plan;
        opt->m = m;
        opt->v = v;
    }
    return opt;
}

size_t rllb_nn_opt_size(const rllb_nn_opt_desc *desc, size_t floats)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_opt plan;

    if (!rllb_i_opt_plan(desc, floats, &plan)) return 0;
    rllb_i_opt_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_opt_init(const rllb_nn_opt_desc *desc, size_t floats, void *mem, size_t size, rllb_nn_opt **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_opt plan;
    rllb_status status;

    if (!out || !rllb_i_opt_plan(desc, floats, &plan)) return RLLB_ERROR_ARGUMENT;
    plan.k = rllb_nn_kernels_query(plan.desc.isa, plan.desc.portable);
    if (!plan.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_opt_size(desc, floats));
    if (status == RLLB_OK) *out = rllb_i_opt_layout(&plan, &c);
    return status;
}

rllb_nn_opt *rllb_nn_opt_create(const rllb_nn_opt_desc *desc, size_t floats)
{
    size_t size = rllb_nn_opt_size(desc, floats);
    void *block = rllb_block_alloc(size);
    rllb_nn_opt *opt = NULL;

    if (block && rllb_nn_opt_init(desc, floats, block, size, &opt) == RLLB_OK) {
        opt->block = block;
        return opt;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_opt_destroy(rllb_nn_opt *opt)
{
    if (opt) rllb_block_free(opt->block);
}

void rllb_nn_opt_query(const rllb_nn_opt *opt, rllb_nn_opt_desc *out)
{
    *out = opt->desc;
}

rllb_status rllb_nn_opt_step(rllb_nn_opt *opt, float *data, const float *gradient, float *norm)
{
    const rllb_nn_opt_desc *d = &opt->desc;
    float size = sqrtf(opt->k->square_sum(gradient, opt->floats));
    double lr = rllb_nn_schedule_at(&d->lr, opt->steps[0]);
    int64_t t;
    rllb_i_descent c;

    if (norm) *norm = size;
    if (!(size - size == 0)) return RLLB_ERROR_NOT_FINITE;
    t = rllb_i_tick(opt->steps);
    memset(&c, 0, sizeof c);
    c.kind = d->kind;
    c.grad_scale = d->clip_norm > 0 && size + 1e-6f > d->clip_norm ? d->clip_norm / (size + 1e-6f) : 1;
    c.decay = d->kind == RLLB_NN_ADAMW ? 0 : d->weight_decay;
    c.keep = d->kind == RLLB_NN_ADAMW ? (float)(1 - lr * (double)d->weight_decay) : 1;
    c.eps = d->eps;
    c.step = (float)lr;
    c.scale = 1;
    c.beta1 = d->kind == RLLB_NN_SGD ? d->momentum : d->beta1;
    c.beta2 = d->kind == RLLB_NN_RMSPROP ? d->alpha : d->beta2;
    if (d->kind == RLLB_NN_ADAM || d->kind == RLLB_NN_ADAMW) { /* bias correction, Algorithm 1 */
        c.step = (float)(lr / (1 - rllb_i_power((double)d->beta1, t)));
        c.scale = (float)(1 / sqrt(1 - rllb_i_power((double)d->beta2, t)));
    }
    opt->k->descend(&c, data, gradient, opt->m, opt->v, opt->floats);
    return RLLB_OK;
}

int64_t rllb_nn_opt_steps(const rllb_nn_opt *opt)
{
    return opt->steps[0];
}

/* ---- >>replay ----------------------------------------------------------------------------------------------------
   A ring of transitions, the n-step window in front of it, and a sum tree over priorities. Counters are clamped where
   they are used, so that a damaged file can spoil learning but not memory. */

enum { RLLB_I_HEAD, RLLB_I_COUNT, RLLB_I_PENDING, RLLB_I_SAMPLED, RLLB_I_REPLAY_COUNTERS };

struct rllb_nn_replay {
    rllb_nn_replay_desc desc; /* resolved */
    int64_t counter[RLLB_I_REPLAY_COUNTERS];
    rllb_rng rng;
    int32_t leaves;           /* a power of two, at least capacity; 0 if uniform */
    float most[1];            /* largest priority so far, what new transitions get */
    float *obs, *next;        /* [capacity][observations] */
    float *reward, *discount; /* [capacity] */
    int32_t *action;          /* [capacity] */
    unsigned char *mask;      /* [capacity][actions] */
    float *tree;              /* [2 * leaves]; node i is the sum of 2i and 2i + 1, leaf of transition t: leaves + t */
    float *window_obs;        /* [n_step][observations] */
    float *window_reward;     /* [n_step] */
    int32_t *window_action;   /* [n_step] */
    void *block;
};

static bool rllb_i_replay_plan(const rllb_nn_replay_desc *desc, rllb_nn_replay *r)
{
    rllb_nn_replay_desc *d = &r->desc;

    memset(r, 0, sizeof *r);
    if (!desc) return false;
    *d = *desc;
    if (d->capacity == 0) d->capacity = 50000;
    if (d->n_step == 0) d->n_step = 1;
    if (d->gamma == 0) d->gamma = 0.99f;
    if (d->gamma < 0) d->gamma = 0;
    if (d->alpha == 0) d->alpha = 0.6f;
    if (d->beta.from == 0) {
        d->beta.curve = RLLB_NN_LINEAR_DECAY;
        d->beta.from = 0.4;
        d->beta.to = 1;
        d->beta.steps = 100000;
    }
    if (d->capacity < 1 || d->capacity > (1 << 28) || d->observations < 1 || d->observations > RLLB_NN_UNITS_MAX ||
        d->n_step < 1 || d->n_step > 1024 || !(d->gamma <= 1) || !(d->alpha > 0 && d->alpha <= 1)) {
        return false;
    }
    if ((int)d->beta.curve < 0 || d->beta.curve >= RLLB_NN_CURVE_NUM) return false;
    if (!(d->beta.from > 0 && d->beta.from <= 1)) return false;
    if (d->masks && (d->actions < 1 || d->actions > RLLB_NN_UNITS_MAX)) return false;
    if (d->prioritized) {
        for (r->leaves = 1; r->leaves < d->capacity;) r->leaves *= 2;
    }
    return true;
}

static rllb_nn_replay *rllb_i_replay_layout(const rllb_nn_replay *plan, rllb_carver *c)
{
    rllb_nn_replay r = *plan, *replay = (rllb_nn_replay *)rllb_carve(c, 1, sizeof *replay);
    size_t capacity = (size_t)r.desc.capacity, width = (size_t)r.desc.observations, window = (size_t)r.desc.n_step;

    r.obs = (float *)rllb_carve(c, capacity * width, sizeof(float));
    r.next = (float *)rllb_carve(c, capacity * width, sizeof(float));
    r.reward = (float *)rllb_carve(c, capacity, sizeof(float));
    r.discount = (float *)rllb_carve(c, capacity, sizeof(float));
    r.action = (int32_t *)rllb_carve(c, capacity, sizeof(int32_t));
    if (r.desc.masks) r.mask = (unsigned char *)rllb_carve(c, capacity, (size_t)r.desc.actions);
    if (r.leaves) r.tree = (float *)rllb_carve(c, 2 * (size_t)r.leaves, sizeof(float));
    r.window_obs = (float *)rllb_carve(c, window * width, sizeof(float));
    r.window_reward = (float *)rllb_carve(c, window, sizeof(float));
    r.window_action = (int32_t *)rllb_carve(c, window, sizeof(int32_t));
    if (replay) *replay = r;
    return replay;
}

size_t rllb_nn_replay_size(const rllb_nn_replay_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_replay plan;

    if (!rllb_i_replay_plan(desc, &plan)) return 0;
    rllb_i_replay_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_replay_init(const rllb_nn_replay_desc *desc, void *mem, size_t size, rllb_nn_replay **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_replay plan, *r;
    rllb_status status;

    if (!out || !rllb_i_replay_plan(desc, &plan)) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&c, mem, size, rllb_nn_replay_size(desc));
    if (status != RLLB_OK) return status;
    r = rllb_i_replay_layout(&plan, &c);
    r->most[0] = 1;
    rllb_rng_init(&r->rng, r->desc.seed, r->desc.stream);
    *out = r;
    return RLLB_OK;
}

rllb_nn_replay *rllb_nn_replay_create(const rllb_nn_replay_desc *desc)
{
    size_t size = rllb_nn_replay_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_replay *r = NULL;

    if (block && rllb_nn_replay_init(desc, block, size, &r) == RLLB_OK) {
        r->block = block;
        return r;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_replay_destroy(rllb_nn_replay *r)
{
    if (r) rllb_block_free(r->block);
}

void rllb_nn_replay_query(const rllb_nn_replay *r, rllb_nn_replay_desc *out)
{
    *out = r->desc;
}

static int64_t rllb_i_clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* A state of zeros, which only a damaged file brings, would answer zero for ever. */
static void rllb_i_rng_wake(rllb_rng *r)
{
    if (!(r->s[0] | r->s[1] | r->s[2] | r->s[3])) rllb_rng_init(r, 0, 0);
}

int32_t rllb_nn_replay_count(const rllb_nn_replay *r)
{
    return (int32_t)rllb_i_clamp(r->counter[RLLB_I_COUNT], 0, r->desc.capacity);
}

static void rllb_i_tree_set(rllb_nn_replay *r, int32_t leaf, float priority)
{
    int32_t i = r->leaves + leaf;

    r->tree[i] = priority;
    for (i /= 2; i >= 1; i /= 2) r->tree[i] = r->tree[2 * i] + r->tree[2 * i + 1];
}

/* The leaf in which the running sum of priorities passes `mass`. */
static int32_t rllb_i_tree_find(const rllb_nn_replay *r, float mass)
{
    int32_t i = 1;

    while (i < r->leaves) {
        float left = r->tree[2 * i];
        i *= 2;
        if (mass >= left && r->tree[i + 1] > 0) {
            mass -= left;
            i++;
        }
    }
    return i - r->leaves;
}

/* Moves the oldest `pending` steps of the window into the ring as one transition that ends in `next`. */
static void rllb_i_replay_emit(rllb_nn_replay *r, int32_t pending, const float *next, const unsigned char *next_mask,
                               bool terminated)
{
    size_t width = (size_t)r->desc.observations, masked = (size_t)r->desc.actions;
    int32_t at = (int32_t)rllb_i_clamp(r->counter[RLLB_I_HEAD], 0, r->desc.capacity - 1), i;
    float sum = 0, discount = 1;

    for (i = 0; i < pending; i++) {
        sum += discount * r->window_reward[i];
        discount *= r->desc.gamma;
    }
    memcpy(r->obs + (size_t)at * width, r->window_obs, width * sizeof(float));
    memcpy(r->next + (size_t)at * width, next, width * sizeof(float));
    r->reward[at] = sum;
    r->discount[at] = terminated ? 0 : discount;
    r->action[at] = r->window_action[0];
    if (r->mask && next_mask) memcpy(r->mask + (size_t)at * masked, next_mask, masked);
    else if (r->mask) memset(r->mask + (size_t)at * masked, 1, masked);
    if (r->tree) rllb_i_tree_set(r, at, r->most[0]);
    memmove(r->window_obs, r->window_obs + width, (size_t)(r->desc.n_step - 1) * width * sizeof(float));
    memmove(r->window_reward, r->window_reward + 1, (size_t)(r->desc.n_step - 1) * sizeof(float));
    memmove(r->window_action, r->window_action + 1, (size_t)(r->desc.n_step - 1) * sizeof(int32_t));
    r->counter[RLLB_I_HEAD] = at + 1 < r->desc.capacity ? at + 1 : 0;
    r->counter[RLLB_I_COUNT] = rllb_nn_replay_count(r) < r->desc.capacity ? rllb_nn_replay_count(r) + 1
                                                                          : r->desc.capacity;
}

rllb_status rllb_nn_replay_observe(rllb_nn_replay *r, const float *obs, int32_t action, float reward,
                                   const float *next, const unsigned char *next_mask, bool terminated,
                                   bool truncated)
{
    int32_t width = r->desc.observations, pending;

    if (!obs || !next || action < 0) return RLLB_ERROR_ARGUMENT;
    if (!rllb_i_all_finite(obs, width) || !rllb_i_all_finite(next, width) || !rllb_i_all_finite(&reward, 1)) {
        return RLLB_ERROR_NOT_FINITE;
    }
    pending = (int32_t)rllb_i_clamp(r->counter[RLLB_I_PENDING], 0, r->desc.n_step - 1);
    memcpy(r->window_obs + (size_t)pending * (size_t)width, obs, (size_t)width * sizeof(float));
    r->window_reward[pending] = reward;
    r->window_action[pending] = action;
    pending++;
    while (pending == r->desc.n_step || ((terminated || truncated) && pending > 0)) {
        rllb_i_replay_emit(r, pending, next, next_mask, terminated);
        pending--;
    }
    r->counter[RLLB_I_PENDING] = pending;
    return RLLB_OK;
}

rllb_status rllb_nn_replay_sample(rllb_nn_replay *r, int32_t rows, rllb_nn_batch *b)
{
    size_t width = (size_t)r->desc.observations, masked = (size_t)r->desc.actions;
    int32_t count = rllb_nn_replay_count(r), i;
    float total = r->tree ? r->tree[1] : 0, greatest = 0;
    bool prioritized = r->tree && total > 0 && total - total == 0;
    float beta = (float)rllb_nn_schedule_at(&r->desc.beta, r->counter[RLLB_I_SAMPLED]);

    if (rows < 1 || !b) return RLLB_ERROR_ARGUMENT;
    if (count < 1) return RLLB_ERROR_EMPTY;
    rllb_i_rng_wake(&r->rng);
    for (i = 0; i < rows; i++) {
        size_t at;
        if (prioritized) { /* one draw from each of `rows` equal slices of the mass */
            float mass = ((float)i + rllb_rng_float(&r->rng)) / (float)rows * total;
            int32_t leaf = (int32_t)rllb_i_clamp(rllb_i_tree_find(r, mass), 0, count - 1);
            b->index[i] = leaf;
            b->weight[i] = powf((float)count * r->tree[r->leaves + leaf] / total, -beta);
            if (b->weight[i] > greatest) greatest = b->weight[i];
        } else {
            b->index[i] = rllb_rng_below(&r->rng, count);
            b->weight[i] = 1;
        }
        at = (size_t)b->index[i];
        memcpy(b->obs + (size_t)i * width, r->obs + at * width, width * sizeof(float));
        memcpy(b->next + (size_t)i * width, r->next + at * width, width * sizeof(float));
        b->reward[i] = r->reward[at];
        b->discount[i] = r->discount[at];
        b->action[i] = r->action[at];
        if (b->mask && r->mask) memcpy(b->mask + (size_t)i * masked, r->mask + at * masked, masked);
    }
    for (i = 0; prioritized && i < rows; i++) b->weight[i] = greatest > 0 ? b->weight[i] / greatest : 1;
    rllb_i_tick(&r->counter[RLLB_I_SAMPLED]);
    return RLLB_OK;
}

void rllb_nn_replay_update(rllb_nn_replay *r, const int32_t *index, const float *error, int32_t rows)
{
    int32_t i;

    for (i = 0; r->tree && i < rows; i++) {
        float size = error[i] < 0 ? -error[i] : error[i], priority = r->most[0];
        if (index[i] < 0 || index[i] >= rllb_nn_replay_count(r)) continue;
        if (size < 1e30f) priority = powf(size + 1e-6f, r->desc.alpha);
        if (priority > r->most[0]) r->most[0] = priority;
        rllb_i_tree_set(r, index[i], priority);
    }
}

/* ---- >>dqn -------------------------------------------------------------------------------------------------------
   The learner: two networks, an optimiser, a replay memory, scratch for one batch, and counters. All in one block,
   each part laid out by its own room. */

enum { RLLB_I_UPDATES, RLLB_I_STEPS, RLLB_I_EPISODES, RLLB_I_DQN_COUNTERS };

struct rllb_nn_dqn {
    rllb_nn_dqn_desc desc; /* resolved */
    rllb_nn_net *net, *target;
    rllb_nn_opt *opt;
    rllb_nn_replay *replay;
    rllb_nn_work *work, *other, *single; /* the batch with gradients; next states; one observation */
    rllb_nn_batch batch;
    float *gradient, *q, *q_next, *error, *dq; /* [floats], [batch][outputs] twice, [batch], [batch][outputs] */
    int32_t *choice;                           /* [batch] */
    rllb_rng rng;
    int64_t counter[RLLB_I_DQN_COUNTERS];
    void *block;
};

/* What a learner is made of before it has memory: resolved descriptors and plans of its parts. */
typedef struct rllb_i_dqn_plan {
    rllb_nn_dqn_desc desc;
    rllb_nn_net net;
    rllb_nn_opt opt;
    rllb_nn_replay replay;
} rllb_i_dqn_plan;

static bool rllb_i_dqn_plan_make(const rllb_nn_dqn_desc *desc, rllb_i_dqn_plan *plan)
{
    rllb_nn_dqn_desc *d = &plan->desc;

    if (!desc) return false;
    *d = *desc;
    if (d->net.activation == RLLB_NN_ACTIVATION_DEFAULT) d->net.activation = RLLB_NN_LEAKY_RELU;
    if (d->gamma == 0) d->gamma = 0.99f;
    if (d->batch == 0) d->batch = 128;
    if (d->tau == 0) d->tau = 0.005f;
    if (d->loss == RLLB_NN_LOSS_DEFAULT) d->loss = RLLB_NN_HUBER;
    if (d->epsilon.from == 0) {
        d->epsilon.curve = RLLB_NN_EXPONENTIAL;
        d->epsilon.from = 1;
        d->epsilon.rate = 0.995;
        d->epsilon.to = 0.01;
    }
    if (d->opt.clip_norm == 0) d->opt.clip_norm = 1;
    if (d->opt.clip_norm < 0) d->opt.clip_norm = 0;
    d->net.seed = d->replay.seed = d->seed;
    d->net.stream = 1;
    d->replay.stream = 2;
    d->opt.isa = d->net.isa;
    d->opt.portable = d->net.portable;
    d->replay.observations = d->net.inputs;
    d->replay.actions = d->net.outputs;
    d->replay.masks = d->masks;
    d->replay.gamma = d->gamma;
    if (d->batch < 1 || d->batch > (1 << 20) || d->target_every < 0) return false;
    if (!(d->gamma <= 1) || !(d->tau > 0 && d->tau <= 1)) return false;
    if ((int)d->loss < 0 || d->loss >= RLLB_NN_LOSS_NUM) return false;
    if ((int)d->epsilon.curve < 0 || d->epsilon.curve >= RLLB_NN_CURVE_NUM) return false;
    if (d->net.gru || d->net.item_inputs || d->net.heads > 1 || d->net.normalise) return false;
    if (!rllb_i_net_plan(&d->net, &plan->net) || !rllb_i_opt_plan(&d->opt, plan->net.floats, &plan->opt) ||
        !rllb_i_replay_plan(&d->replay, &plan->replay)) {
        return false;
    }
    if (d->learn_start == 0) d->learn_start = (int32_t)rllb_i_clamp(d->batch, 1, plan->replay.desc.capacity);
    return d->learn_start >= 1 && d->learn_start <= plan->replay.desc.capacity; /* else it would never learn */
}

static rllb_nn_dqn *rllb_i_dqn_layout(const rllb_i_dqn_plan *plan, rllb_carver *c)
{
    rllb_nn_dqn a, *agent = (rllb_nn_dqn *)rllb_carve(c, 1, sizeof *agent);
    size_t rows = (size_t)plan->desc.batch, width = (size_t)plan->desc.net.inputs;
    size_t actions = (size_t)plan->desc.net.outputs;

    memset(&a, 0, sizeof a);
    a.desc = plan->desc;
    a.net = rllb_i_net_layout(&plan->net, c);
    a.target = rllb_i_net_layout(&plan->net, c);
    a.opt = rllb_i_opt_layout(&plan->opt, c);
    a.replay = rllb_i_replay_layout(&plan->replay, c);
    a.work = rllb_i_work_layout(&plan->net, plan->desc.batch, 1, 1, true, c);
    a.other = rllb_i_work_layout(&plan->net, plan->desc.batch, 1, 1, false, c);
    a.single = rllb_i_work_layout(&plan->net, 1, 1, 1, false, c);
    a.gradient = (float *)rllb_carve(c, plan->net.floats, sizeof(float));
    a.q = (float *)rllb_carve(c, rows * actions, sizeof(float));
    a.q_next = (float *)rllb_carve(c, rows * actions, sizeof(float));
    a.dq = (float *)rllb_carve(c, rows * actions, sizeof(float));
    a.error = (float *)rllb_carve(c, rows, sizeof(float));
    a.choice = (int32_t *)rllb_carve(c, rows, sizeof(int32_t));
    a.batch.obs = (float *)rllb_carve(c, rows * width, sizeof(float));
    a.batch.next = (float *)rllb_carve(c, rows * width, sizeof(float));
    a.batch.action = (int32_t *)rllb_carve(c, rows, sizeof(int32_t));
    a.batch.reward = (float *)rllb_carve(c, rows, sizeof(float));
    a.batch.discount = (float *)rllb_carve(c, rows, sizeof(float));
    a.batch.weight = (float *)rllb_carve(c, rows, sizeof(float));
    a.batch.index = (int32_t *)rllb_carve(c, rows, sizeof(int32_t));
    if (plan->desc.masks) a.batch.mask = (unsigned char *)rllb_carve(c, rows, actions);
    if (agent) *agent = a;
    return agent;
}

void rllb_nn_dqn_desc_default(rllb_nn_dqn_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_nn_dqn_size(const rllb_nn_dqn_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_i_dqn_plan plan;

    if (!rllb_i_dqn_plan_make(desc, &plan)) return 0;
    rllb_i_dqn_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_dqn_init(const rllb_nn_dqn_desc *desc, void *mem, size_t size, rllb_nn_dqn **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_i_dqn_plan plan;
    rllb_nn_dqn *agent;
    rllb_status status;

    if (!out || !rllb_i_dqn_plan_make(desc, &plan)) return RLLB_ERROR_ARGUMENT;
    plan.net.k = plan.opt.k = rllb_nn_kernels_query(plan.desc.net.isa, plan.desc.net.portable);
    if (!plan.net.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_dqn_size(desc));
    if (status != RLLB_OK) return status;
    agent = rllb_i_dqn_layout(&plan, &c);
    agent->replay->most[0] = 1;
    rllb_rng_init(&agent->replay->rng, plan.desc.replay.seed, plan.desc.replay.stream);
    rllb_rng_init(&agent->rng, plan.desc.seed, 3);
    rllb_nn_net_reset(agent->net, plan.desc.net.seed, plan.desc.net.stream);
    rllb_nn_net_copy(agent->target, agent->net);
    *out = agent;
    return RLLB_OK;
}

rllb_nn_dqn *rllb_nn_dqn_create(const rllb_nn_dqn_desc *desc)
{
    size_t size = rllb_nn_dqn_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_dqn *agent = NULL;

    if (block && rllb_nn_dqn_init(desc, block, size, &agent) == RLLB_OK) {
        agent->block = block;
        return agent;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_dqn_destroy(rllb_nn_dqn *agent)
{
    if (agent) rllb_block_free(agent->block);
}

void rllb_nn_dqn_query(const rllb_nn_dqn *agent, rllb_nn_dqn_desc *out)
{
    *out = agent->desc;
    rllb_nn_net_query(agent->net, &out->net);
    rllb_nn_opt_query(agent->opt, &out->opt);
    rllb_nn_replay_query(agent->replay, &out->replay);
}

double rllb_nn_dqn_epsilon(const rllb_nn_dqn *agent)
{
    return rllb_nn_schedule_at(&agent->desc.epsilon, agent->desc.epsilon_per_step ? agent->counter[RLLB_I_STEPS]
                                                                                  : agent->counter[RLLB_I_EPISODES]);
}

int32_t rllb_nn_dqn_best(rllb_nn_dqn *agent, const float *obs, const unsigned char *mask)
{
    return rllb_nn_best(agent->net, agent->single, obs, mask);
}

int32_t rllb_nn_dqn_act(rllb_nn_dqn *agent, const float *obs, const unsigned char *mask)
{
    int32_t actions = agent->desc.net.outputs, allowed = 0, i, skip;

    rllb_i_rng_wake(&agent->rng);
    if (rllb_rng_double(&agent->rng) >= rllb_nn_dqn_epsilon(agent)) return rllb_nn_dqn_best(agent, obs, mask);
    if (!mask) return rllb_rng_below(&agent->rng, actions);
    for (i = 0; i < actions; i++) allowed += mask[i] != 0;
    if (!allowed) return -1;
    skip = rllb_rng_below(&agent->rng, allowed);
    for (i = 0; !mask[i] || skip-- > 0; i++) {}
    return i;
}

rllb_status rllb_nn_dqn_observe(rllb_nn_dqn *agent, const float *obs, int32_t action, float reward, const float *next,
                                const unsigned char *next_mask, bool terminated, bool truncated)
{
    rllb_status status;

    if (action < 0 || action >= agent->desc.net.outputs) return RLLB_ERROR_ARGUMENT;
    status = rllb_nn_replay_observe(agent->replay, obs, action, reward, next, next_mask, terminated, truncated);
    if (status != RLLB_OK) return status;
    rllb_i_tick(&agent->counter[RLLB_I_STEPS]);
    if (terminated || truncated) rllb_i_tick(&agent->counter[RLLB_I_EPISODES]);
    return RLLB_OK;
}

/* Values of the next states: max_a Q_target, or with Double DQN Q_target at the action the online net prefers. */
static void rllb_i_dqn_next(rllb_nn_dqn *agent)
{
    int32_t rows = agent->desc.batch, actions = agent->desc.net.outputs, i;
    const unsigned char *mask = agent->batch.mask;
    size_t at;

    if (agent->desc.double_dqn) {
        rllb_nn_forward(agent->net, agent->other, agent->batch.next, rows, agent->q_next);
        for (i = 0; i < rows; i++) {
            at = (size_t)i * (size_t)actions;
            agent->choice[i] = rllb_i_argmax(agent->q_next + at, mask ? mask + at : NULL, actions);
        }
    }
    rllb_nn_forward(agent->target, agent->other, agent->batch.next, rows, agent->q_next);
    for (i = 0; !agent->desc.double_dqn && i < rows; i++) {
        at = (size_t)i * (size_t)actions;
        agent->choice[i] = rllb_i_argmax(agent->q_next + at, mask ? mask + at : NULL, actions);
    }
}

/* One step on the batch that lies in agent->batch. */
static rllb_status rllb_i_dqn_learn(rllb_nn_dqn *agent, rllb_nn_dqn_report *report)
{
    int32_t rows = agent->desc.batch, actions = agent->desc.net.outputs, i;
    float loss = 0, mean_q = 0, norm = 0;
    rllb_status status;

    rllb_i_dqn_next(agent);
    rllb_nn_forward(agent->net, agent->work, agent->batch.obs, rows, agent->q);
    memset(agent->dq, 0, (size_t)rows * (size_t)actions * sizeof(float));
    for (i = 0; i < rows; i++) {
        int32_t action = (int32_t)rllb_i_clamp(agent->batch.action[i], 0, actions - 1), next = agent->choice[i];
        size_t at = (size_t)i * (size_t)actions;
        float follow = next < 0 ? 0 : agent->q_next[at + (size_t)next], q = agent->q[at + (size_t)action], slope;
        float target = agent->batch.reward[i] + agent->batch.discount[i] * follow;
        agent->error[i] = q - target;
        loss += agent->batch.weight[i] * rllb_i_loss(agent->desc.loss, 1, agent->error[i], &slope) / (float)rows;
        mean_q += q / (float)rows;
        agent->dq[at + (size_t)action] = agent->batch.weight[i] * slope / (float)rows;
    }
    rllb_nn_backward(agent->net, agent->work, agent->dq, rows, agent->gradient, NULL);
    status = rllb_nn_opt_step(agent->opt, agent->net->data, agent->gradient, &norm);
    if (report) {
        report->loss = loss;
        report->gradient_norm = norm;
        report->mean_q = mean_q;
    }
    if (status != RLLB_OK) return status;
    rllb_nn_replay_update(agent->replay, agent->batch.index, agent->error, rows);
    rllb_i_tick(&agent->counter[RLLB_I_UPDATES]);
    if (agent->desc.target_every == 0) {
        agent->net->k->blend(agent->target->data, agent->net->data, agent->net->floats, agent->desc.tau);
    } else if (agent->counter[RLLB_I_UPDATES] % agent->desc.target_every == 0) {
        memcpy(agent->target->data, agent->net->data, agent->net->floats * sizeof(float));
    }
    return RLLB_OK;
}

rllb_status rllb_nn_dqn_update(rllb_nn_dqn *agent, rllb_nn_dqn_report *report)
{
    rllb_status status;

    if (rllb_nn_replay_count(agent->replay) < agent->desc.learn_start) return RLLB_ERROR_EMPTY;
    status = rllb_nn_replay_sample(agent->replay, agent->desc.batch, &agent->batch);
    return status == RLLB_OK ? rllb_i_dqn_learn(agent, report) : status;
}

int64_t rllb_nn_dqn_updates(const rllb_nn_dqn *agent)
{
    return agent->counter[RLLB_I_UPDATES];
}

int64_t rllb_nn_dqn_episodes(const rllb_nn_dqn *agent)
{
    return agent->counter[RLLB_I_EPISODES];
}

const rllb_nn_net *rllb_nn_dqn_net(const rllb_nn_dqn *agent)
{
    return agent->net;
}

const rllb_nn_net *rllb_nn_dqn_target(const rllb_nn_dqn *agent)
{
    return agent->target;
}

rllb_nn_replay *rllb_nn_dqn_replay(rllb_nn_dqn *agent)
{
    return agent->replay;
}

/* ---- >>episodes --------------------------------------------------------------------------------------------------
   A ring of steps, in which whole episodes lie one behind the other, each with one slot more for what it ended in; and
   a ring of episodes, which says where they begin. What comes from a file is clamped where it is used. */

enum {
    RLLB_I_RING_HEAD,     /* slot where the episode that is going on begins */
    RLLB_I_RING_GOING,    /* its steps so far */
    RLLB_I_RING_ITEMS,    /* its items */
    RLLB_I_RING_FIRST,    /* the oldest episode */
    RLLB_I_RING_COUNT,    /* of finished episodes */
    RLLB_I_RING_USED,     /* their slots */
    RLLB_I_RING_COUNTERS
};

struct rllb_nn_episodes {
    rllb_nn_episodes_desc desc; /* resolved */
    int64_t counter[RLLB_I_RING_COUNTERS];
    rllb_rng rng;
    float *obs, *state, *action, *reward, *memory; /* [capacity][...] */
    unsigned char *terminated;                     /* [capacity] */
    int32_t *owner;                                /* [capacity] episode a slot belongs to */
    int32_t *start, *length, *items;               /* [episodes] */
    void *block;
};

static bool rllb_i_episodes_plan(const rllb_nn_episodes_desc *desc, rllb_nn_episodes *e)
{
    rllb_nn_episodes_desc *d = &e->desc;
    const int32_t most = 1 << 26;

    memset(e, 0, sizeof *e);
    if (!desc) return false;
    *d = *desc;
    if (d->capacity == 0) d->capacity = 20000;
    if (d->episodes == 0) d->episodes = 4096;
    if (d->steps == 0) d->steps = 256;
    if (d->agents == 0) d->agents = 1;
    if (d->agents < 1 || d->agents > 4096) return false;
    return d->capacity >= 2 && d->capacity <= most && d->episodes >= 1 && d->episodes <= most && d->steps >= 1 &&
           d->steps <= 65536 && d->observations >= 1 && d->observations <= most / d->agents && d->actions >= 1 &&
           d->actions <= most / d->agents && d->states >= 0 && d->states <= most && d->memories >= 0 &&
           d->memories <= most / d->agents;
}

static rllb_nn_episodes *rllb_i_episodes_layout(const rllb_nn_episodes *plan, rllb_carver *c)
{
    rllb_nn_episodes e = *plan, *episodes = (rllb_nn_episodes *)rllb_carve(c, 1, sizeof *episodes);
    const rllb_nn_episodes_desc *d = &plan->desc;
    size_t capacity = (size_t)d->capacity, all = capacity * (size_t)d->agents, count = (size_t)d->episodes;

    e.obs = (float *)rllb_carve(c, all * (size_t)d->observations, sizeof(float));
    e.state = (float *)rllb_carve(c, capacity * (size_t)d->states, sizeof(float));
    e.action = (float *)rllb_carve(c, all * (size_t)d->actions, sizeof(float));
    e.reward = (float *)rllb_carve(c, all, sizeof(float));
    e.memory = (float *)rllb_carve(c, all * (size_t)d->memories, sizeof(float));
    e.terminated = (unsigned char *)rllb_carve(c, capacity, 1);
    e.owner = (int32_t *)rllb_carve(c, capacity, sizeof(int32_t));
    e.start = (int32_t *)rllb_carve(c, count, sizeof(int32_t));
    e.length = (int32_t *)rllb_carve(c, count, sizeof(int32_t));
    e.items = (int32_t *)rllb_carve(c, count, sizeof(int32_t));
    if (episodes) *episodes = e;
    return episodes;
}

size_t rllb_nn_episodes_size(const rllb_nn_episodes_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_episodes plan;

    if (!rllb_i_episodes_plan(desc, &plan)) return 0;
    rllb_i_episodes_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_episodes_init(const rllb_nn_episodes_desc *desc, void *mem, size_t size, rllb_nn_episodes **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_episodes plan;
    rllb_status status;

    if (!out || !rllb_i_episodes_plan(desc, &plan)) return RLLB_ERROR_ARGUMENT;
    status = rllb_carver_open(&c, mem, size, rllb_nn_episodes_size(desc));
    if (status != RLLB_OK) return status;
    *out = rllb_i_episodes_layout(&plan, &c);
    rllb_rng_init(&(*out)->rng, plan.desc.seed, plan.desc.stream);
    return RLLB_OK;
}

rllb_nn_episodes *rllb_nn_episodes_create(const rllb_nn_episodes_desc *desc)
{
    size_t size = rllb_nn_episodes_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_episodes *e = NULL;

    if (block && rllb_nn_episodes_init(desc, block, size, &e) == RLLB_OK) {
        e->block = block;
        return e;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_episodes_destroy(rllb_nn_episodes *e)
{
    if (e) rllb_block_free(e->block);
}

void rllb_nn_episodes_query(const rllb_nn_episodes *e, rllb_nn_episodes_desc *out)
{
    *out = e->desc;
}

int32_t rllb_nn_episodes_count(const rllb_nn_episodes *e)
{
    return (int32_t)rllb_i_clamp(e->counter[RLLB_I_RING_COUNT], 0, e->desc.episodes);
}

int32_t rllb_nn_episodes_steps(const rllb_nn_episodes *e)
{
    return (int32_t)rllb_i_clamp(e->counter[RLLB_I_RING_USED], 0, e->desc.capacity) - rllb_nn_episodes_count(e);
}

static int32_t rllb_i_ring_episode(const rllb_nn_episodes *e, int32_t number)
{
    int64_t first = rllb_i_clamp(e->counter[RLLB_I_RING_FIRST], 0, e->desc.episodes - 1);

    return (int32_t)((first + number) % e->desc.episodes);
}

static int32_t rllb_i_ring_slot(const rllb_nn_episodes *e, int32_t start, int32_t step)
{
    return (int32_t)((rllb_i_clamp(start, 0, e->desc.capacity - 1) + step) % e->desc.capacity);
}

static int32_t rllb_i_ring_length(const rllb_nn_episodes *e, int32_t episode)
{
    return (int32_t)rllb_i_clamp(e->length[episode], 1, e->desc.capacity - 1);
}

/* Forgets the oldest episode. */
static void rllb_i_ring_drop(rllb_nn_episodes *e)
{
    int32_t oldest = rllb_i_ring_episode(e, 0);

    e->counter[RLLB_I_RING_USED] -= rllb_i_ring_length(e, oldest) + 1;
    e->counter[RLLB_I_RING_FIRST] = rllb_i_ring_episode(e, 1);
    e->counter[RLLB_I_RING_COUNT] = rllb_nn_episodes_count(e) - 1;
    if (e->counter[RLLB_I_RING_COUNT] < 1) e->counter[RLLB_I_RING_USED] = 0;
}

static void rllb_i_ring_commit(rllb_nn_episodes *e, int32_t head, int32_t steps)
{
    int32_t at;

    if (rllb_nn_episodes_count(e) == e->desc.episodes) rllb_i_ring_drop(e);
    at = rllb_i_ring_episode(e, rllb_nn_episodes_count(e));
    e->start[at] = head;
    e->length[at] = steps;
    e->items[at] = (int32_t)rllb_i_clamp(e->counter[RLLB_I_RING_ITEMS], 0, INT32_MAX);
    e->counter[RLLB_I_RING_COUNT] = rllb_nn_episodes_count(e) + 1;
    e->counter[RLLB_I_RING_USED] += steps + 1;
    e->counter[RLLB_I_RING_HEAD] = rllb_i_ring_slot(e, head, steps + 1);
    e->counter[RLLB_I_RING_GOING] = 0;
}

static void rllb_i_put_row(float *to, int32_t row, const float *from, int32_t n)
{
    if (n && from) memcpy(to + (size_t)row * (size_t)n, from, (size_t)n * sizeof(float));
    else if (n) memset(to + (size_t)row * (size_t)n, 0, (size_t)n * sizeof(float));
}

rllb_status rllb_nn_episodes_observe(rllb_nn_episodes *e, const rllb_nn_step *s)
{
    const rllb_nn_episodes_desc *d = &e->desc;
    int32_t obs = d->agents * d->observations, actions = d->agents * d->actions, slot, next, head, going;

    if (!s || !s->obs || !s->next || !s->action || !s->reward) return RLLB_ERROR_ARGUMENT;
    if (d->states && (!s->state || !s->next_state)) return RLLB_ERROR_ARGUMENT;
    if (!rllb_i_all_finite(s->obs, obs) || !rllb_i_all_finite(s->next, obs) ||
        !rllb_i_all_finite(s->action, actions) || !rllb_i_all_finite(s->reward, d->agents) ||
        (d->states && !(rllb_i_all_finite(s->state, d->states) && rllb_i_all_finite(s->next_state, d->states)))) {
        return RLLB_ERROR_NOT_FINITE;
    }
    head = (int32_t)rllb_i_clamp(e->counter[RLLB_I_RING_HEAD], 0, d->capacity - 1);
    going = (int32_t)rllb_i_clamp(e->counter[RLLB_I_RING_GOING], 0, d->capacity - 2);
    if (going == 0) e->counter[RLLB_I_RING_ITEMS] = s->items;
    while (rllb_nn_episodes_count(e) > 0 && e->counter[RLLB_I_RING_USED] + going + 2 > d->capacity) rllb_i_ring_drop(e);
    slot = rllb_i_ring_slot(e, head, going);
    next = rllb_i_ring_slot(e, head, going + 1);
    rllb_i_put_row(e->obs, slot, s->obs, obs);
    rllb_i_put_row(e->obs, next, s->next, obs);
    rllb_i_put_row(e->state, slot, s->state, d->states);
    rllb_i_put_row(e->state, next, s->next_state, d->states);
    rllb_i_put_row(e->action, slot, s->action, actions);
    rllb_i_put_row(e->reward, slot, s->reward, d->agents);
    rllb_i_put_row(e->memory, slot, s->memory, d->agents * d->memories);
    e->terminated[slot] = s->terminated;
    e->owner[slot] = e->owner[next] = rllb_i_ring_episode(e, rllb_nn_episodes_count(e));
    going++;
    e->counter[RLLB_I_RING_GOING] = going;
    if (s->terminated || s->truncated || going + 2 > d->capacity) rllb_i_ring_commit(e, head, going);
    return RLLB_OK;
}

/* An episode and the step in it to begin at. */
static int32_t rllb_i_ring_draw(rllb_nn_episodes *e, int32_t window, int32_t *begin)
{
    int32_t first = rllb_i_ring_episode(e, 0), used, slot, owner = first, length = 1, tries;

    *begin = 0;
    if (window < 1) return rllb_i_ring_episode(e, rllb_rng_below(&e->rng, rllb_nn_episodes_count(e)));
    used = (int32_t)rllb_i_clamp(e->counter[RLLB_I_RING_USED], 2, e->desc.capacity);
    for (tries = 0; tries < 64; tries++) { /* again where an episode has ended already: at most every other slot */
        slot = rllb_i_ring_slot(e, e->start[first], rllb_rng_below(&e->rng, used));
        owner = (int32_t)rllb_i_clamp(e->owner[slot], 0, e->desc.episodes - 1);
        length = rllb_i_ring_length(e, owner);
        *begin = rllb_i_ring_slot(e, slot, e->desc.capacity - rllb_i_ring_slot(e, e->start[owner], 0));
        if (*begin < length) break;
    }
    if (*begin >= length) *begin = length - 1;
    if (window > 1) *begin = length > window ? rllb_rng_below(&e->rng, length - window + 1) : 0;
    return owner;
}

/* Where row r of a batch lies: the slot of its first step, and how many steps it has. */
static void rllb_i_ring_choose(rllb_nn_episodes *e, int32_t r, int32_t window, rllb_nn_sequences *b)
{
    int32_t actions = e->desc.agents * e->desc.actions, begin, owner = rllb_i_ring_draw(e, window, &begin), i;
    int32_t most = window > 0 && window < e->desc.steps ? window : e->desc.steps;
    int32_t left = rllb_i_ring_length(e, owner) - begin;
    size_t at = (size_t)r * (size_t)actions;

    b->slot[r] = rllb_i_ring_slot(e, e->start[owner], begin);
    b->length[r] = left < most ? left : most;
    b->items[r] = e->items[owner];
    for (i = 0; !begin && i < actions; i++) b->before[at + (size_t)i] = -1;
    if (begin) {
        size_t from = (size_t)rllb_i_ring_slot(e, b->slot[r], e->desc.capacity - 1) * (size_t)actions;
        memcpy(b->before + at, e->action + from, (size_t)actions * sizeof(float));
    }
    rllb_i_put_row(b->memory, r, e->memory + (size_t)b->slot[r] * (size_t)(e->desc.agents * e->desc.memories),
                   e->desc.agents * e->desc.memories);
    if (b->length[r] > b->steps) b->steps = b->length[r];
}

rllb_status rllb_nn_episodes_sample(rllb_nn_episodes *e, int32_t rows, int32_t window, rllb_nn_sequences *b)
{
    const rllb_nn_episodes_desc *d = &e->desc;
    int32_t obs = d->agents * d->observations, actions = d->agents * d->actions, t, r;

    if (rows < 1 || !b) return RLLB_ERROR_ARGUMENT;
    if (rllb_nn_episodes_count(e) < 1) return RLLB_ERROR_EMPTY;
    rllb_i_rng_wake(&e->rng);
    b->steps = 0;
    for (r = 0; r < rows; r++) rllb_i_ring_choose(e, r, window, b);
    for (t = 0; t <= b->steps; t++) {
        for (r = 0; r < rows; r++) {
            int32_t slot = rllb_i_ring_slot(e, b->slot[r], t < d->capacity ? t : 0), to = t * rows + r;
            bool seen = t <= b->length[r], there = t < b->length[r];
            rllb_i_put_row(b->obs, to, seen ? e->obs + (size_t)slot * (size_t)obs : NULL, obs);
            rllb_i_put_row(b->state, to, seen ? e->state + (size_t)slot * (size_t)d->states : NULL, d->states);
            if (t == b->steps) continue;
            rllb_i_put_row(b->action, to, there ? e->action + (size_t)slot * (size_t)actions : NULL, actions);
            rllb_i_put_row(b->reward, to, there ? e->reward + (size_t)slot * (size_t)d->agents : NULL, d->agents);
            b->filled[to] = there;
            b->terminated[to] = there && e->terminated[slot];
        }
    }
    return RLLB_OK;
}

/* Arrays of a batch of `rows` sequences. */
static void rllb_i_sequences_layout(const rllb_nn_episodes_desc *d, int32_t rows, int32_t steps, rllb_nn_sequences *b,
                                    rllb_carver *c)
{
    size_t n = (size_t)rows, cells = n * (size_t)steps, agents = (size_t)d->agents;

    b->obs = (float *)rllb_carve(c, (cells + n) * agents * (size_t)d->observations, sizeof(float));
    b->state = (float *)rllb_carve(c, (cells + n) * (size_t)d->states, sizeof(float));
    b->action = (float *)rllb_carve(c, cells * agents * (size_t)d->actions, sizeof(float));
    b->reward = (float *)rllb_carve(c, cells * agents, sizeof(float));
    b->before = (float *)rllb_carve(c, n * agents * (size_t)d->actions, sizeof(float));
    b->memory = (float *)rllb_carve(c, n * agents * (size_t)d->memories, sizeof(float));
    b->filled = (unsigned char *)rllb_carve(c, cells, 1);
    b->terminated = (unsigned char *)rllb_carve(c, cells, 1);
    b->items = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
    b->slot = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
    b->length = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
}

/* ---- >>agents ----------------------------------------------------------------------------------------------------
   What the learners of several agents share: rows of input made of observation, last action and identity; which
   decisions count; softmax over choices; acting with recurrent state carried along. Sequences of a batch are numbered
   row by row, agent by agent within a row. */

static bool rllb_i_is_set(const rllb_nn_space *s)
{
    return s->item_observations > 0;
}

int32_t rllb_nn_space_observations(const rllb_nn_space *s)
{
    return s->observations + (rllb_i_is_set(s) ? s->items * s->item_observations : 0);
}

int32_t rllb_nn_space_actions(const rllb_nn_space *s)
{
    return rllb_i_is_set(s) ? s->items + s->common : s->heads;
}

/* Numbers that one decision is seen as. */
static int32_t rllb_i_seen_as(const rllb_nn_space *s)
{
    return s->choices ? s->choices : 1;
}

static bool rllb_i_space_resolve(rllb_nn_space *s)
{
    const int32_t most = RLLB_NN_UNITS_MAX;
    bool ok = s->observations >= 0 && s->observations <= most && s->item_observations >= 0 && s->choices >= 0;

    ok = ok && s->choices != 1 && s->choices <= RLLB_NN_CHOICES_MAX && s->heads >= 0 && s->items >= 0 && s->common >= 0;
    if (!ok) return false;
    if (rllb_i_is_set(s)) {
        return s->items >= 1 && s->items <= 4096 && s->item_observations <= 4096 && s->heads == 0 &&
               s->common <= RLLB_NN_COMMON_MAX;
    }
    if (s->heads == 0) s->heads = 1;
    return s->observations >= 1 && s->items == 0 && s->common == 0 && s->heads <= most / RLLB_NN_CHOICES_MAX;
}

/* Inputs and outputs of a network with `per` outputs for a decision; asked (a critic): an action is among the
   inputs. */
static void rllb_i_space_net(const rllb_nn_space *s, int32_t agents, int32_t per, bool asked, rllb_nn_net_desc *d)
{
    int32_t id = s->agent_id ? agents : 0, seen = s->last_action ? rllb_i_seen_as(s) : 0, more = asked ? 1 : 0;

    d->item_inputs = d->item_outputs = 0;
    if (rllb_i_is_set(s)) {
        d->inputs = s->observations + s->common * (seen + more) + id;
        d->outputs = s->common * per;
        d->item_inputs = s->item_observations + seen + more;
        d->item_outputs = per;
        d->heads = 1;
        return;
    }
    d->inputs = s->observations + s->heads * (seen + more) + id;
    d->outputs = s->heads * per;
    d->heads = s->heads;
}

/* The decision as numbers: one-hot, or as it is. -1 of a choice: none. */
static float *rllb_i_put_decision(const rllb_nn_space *s, float decision, float *x)
{
    int32_t n = rllb_i_seen_as(s);

    memset(x, 0, (size_t)n * sizeof(float));
    if (!s->choices) x[0] = decision;
    else if (decision >= 0 && decision < (float)n) x[(int32_t)decision] = 1;
    return x + n;
}

/* One row of input. last: the action before, or NULL where it is not seen; asked: what a critic is asked about, or
   NULL. */
static void rllb_i_put_input(const rllb_nn_space *s, int32_t agents, int32_t agent, const float *obs, const float *last,
                             const float *asked, float *x)
{
    bool set = rllb_i_is_set(s);
    int32_t first = set ? s->items : 0, count = set ? s->common : s->heads, i;

    memcpy(x, obs, (size_t)s->observations * sizeof(float));
    x += s->observations;
    for (i = 0; last && s->last_action && i < count; i++) x = rllb_i_put_decision(s, last[first + i], x);
    for (i = 0; s->agent_id && i < agents; i++) *x++ = i == agent ? 1.0f : 0.0f;
    for (i = 0; asked && i < count; i++) *x++ = asked[first + i];
    for (i = 0; set && i < s->items; i++) {
        memcpy(x, obs + s->observations + i * s->item_observations, (size_t)s->item_observations * sizeof(float));
        x += s->item_observations;
        if (last && s->last_action) x = rllb_i_put_decision(s, last[i], x);
        if (asked) *x++ = asked[i];
    }
}

/* Where in such a row decision d of the action asked about stands. */
static int32_t rllb_i_asked_at(const rllb_nn_space *s, int32_t agents, int32_t d)
{
    bool set = rllb_i_is_set(s);
    int32_t seen = s->last_action ? rllb_i_seen_as(s) : 0, count = set ? s->common : s->heads;
    int32_t before = s->observations + count * seen + (s->agent_id ? agents : 0);

    if (!set) return before + d;
    if (d >= s->items) return before + d - s->items;
    return before + count + d * (s->item_observations + seen + 1) + s->item_observations + seen;
}

/* What the running normalisation leaves alone: all but observations. raw [inputs + item_inputs]. */
static void rllb_i_put_raw(const rllb_nn_space *s, const rllb_nn_net_desc *d, unsigned char *raw)
{
    memset(raw, 1, (size_t)d->inputs + (size_t)d->item_inputs);
    memset(raw, 0, (size_t)s->observations);
    memset(raw + d->inputs, 0, (size_t)s->item_observations);
}

static int32_t rllb_i_items_of(const rllb_nn_space *s, int32_t items)
{
    return (int32_t)rllb_i_clamp(items, 0, s->items);
}

/* Is there such a decision, when there are so many items? */
static bool rllb_i_decides(const rllb_nn_space *s, int32_t d, int32_t items)
{
    return !rllb_i_is_set(s) || d >= s->items || d < items;
}

static int32_t rllb_i_decisions(const rllb_nn_space *s, int32_t items)
{
    return rllb_i_is_set(s) ? items + s->common : s->heads;
}

/* A choice out of a damaged file, or one that is not there. */
static int32_t rllb_i_choice(const rllb_nn_space *s, float decision)
{
    return decision >= 0 && decision < (float)s->choices ? (int32_t)decision : 0;
}

/* Softmax over `choices` numbers of each of `rows` rows, all row-major, into p and its logarithm (each may be NULL).
   panels: scratch of rllb_nn_tensor_floats(rows, choices). */
static void rllb_i_softmax_rows(const rllb_nn_kernels *k, const float *from, int32_t rows, int32_t choices,
                                float *panels, float *p, float *log_p)
{
    rllb_nn_tensor t;

    t.data = panels;
    t.rows = rows;
    t.cols = choices;
    if (log_p) {
        rllb_nn_tensor_load(&t, from, (size_t)choices);
        k->softmax(panels, rows, choices, 1);
        rllb_nn_tensor_save(&t, log_p, (size_t)choices);
    }
    if (p) {
        rllb_nn_tensor_load(&t, from, (size_t)choices);
        k->softmax(panels, rows, choices, 0);
        rllb_nn_tensor_save(&t, p, (size_t)choices);
    }
}

/* An index drawn with probabilities p; the last one that has any where rounding leaves a rest. */
static int32_t rllb_i_draw_choice(rllb_rng *rng, const float *p, int32_t n)
{
    float left = rllb_rng_float(rng);
    int32_t i, last = 0;

    for (i = 0; i < n; i++) {
        if (!(p[i] > 0)) continue;
        last = i;
        if (left < p[i]) break;
        left -= p[i];
    }
    return last;
}

/* Several learners' parameters lie in one array, so that one optimiser and one clipping serve them all. */
static rllb_nn_net *rllb_i_net_layout_over(const rllb_nn_net *plan, float *data, size_t *at, rllb_carver *c)
{
    rllb_nn_net *net = (rllb_nn_net *)rllb_carve(c, 1, sizeof *net);
    rllb_i_normal normal = rllb_i_normal_layout(plan->normal.width, c);
    rllb_i_normal item_normal = rllb_i_normal_layout(plan->item_normal.width, c);

    if (net) {
        *net = *plan;
        net->data = data + *at;
        net->normal = normal;
        net->item_normal = item_normal;
    }
    *at += plan->floats;
    return net;
}

/* A target network goes by the statistics of the one it follows. */
static void rllb_i_same_normal(rllb_nn_net *to, const rllb_nn_net *from)
{
    to->normal = from->normal;
    to->item_normal = from->item_normal;
}

/* Does a batch of so many rows fit into an int32_t, whatever is counted? */
static bool rllb_i_batch_ok(int64_t rows, int32_t agents, const rllb_nn_space *s, const rllb_nn_net *net)
{
    const int64_t most = 1 << 28;
    int64_t cells = rows * agents, items = s->items > 1 ? s->items : 1, unit = items;
    int32_t n;

    for (n = 0; n < net->layers; n++) {
        if (unit < items * 3 * rllb_i_padded(net->layer[n].out)) unit = items * 3 * rllb_i_padded(net->layer[n].out);
    }
    if (unit < rllb_nn_net_inputs(net, s->items)) unit = rllb_nn_net_inputs(net, s->items);
    return rows < most && cells < most && unit < most && cells * unit < 4 * most && cells * items < (1 << 24);
}

/* ---- acting ---- */

/* What agents carry from step to step: [agents][memories] twice, [agents][actions], and scratch. */
typedef struct rllb_i_carry {
    float *memory, *before; /* recurrent state now, and before the last act */
    float *last, *x, *y;    /* last action; inputs and outputs of all agents */
    unsigned char *raw;
    int32_t *counts;        /* [agents] */
    int32_t memories, width, out, actions, agents;
} rllb_i_carry;

static void rllb_i_carry_layout(const rllb_nn_space *s, const rllb_nn_net *net, int32_t agents, rllb_i_carry *k,
                                rllb_carver *c)
{
    size_t n = (size_t)agents;

    k->agents = agents;
    k->memories = rllb_nn_net_states(net, s->items);
    k->width = rllb_nn_net_inputs(net, s->items);
    k->out = rllb_nn_net_outputs(net, s->items);
    k->actions = rllb_nn_space_actions(s);
    k->memory = (float *)rllb_carve(c, n * (size_t)k->memories, sizeof(float));
    k->before = (float *)rllb_carve(c, n * (size_t)k->memories, sizeof(float));
    k->last = (float *)rllb_carve(c, n * (size_t)k->actions, sizeof(float));
    k->x = (float *)rllb_carve(c, n * (size_t)k->width, sizeof(float));
    k->y = (float *)rllb_carve(c, n * (size_t)k->out, sizeof(float));
    k->raw = (unsigned char *)rllb_carve(c, (size_t)net->desc.inputs + (size_t)net->desc.item_inputs, 1);
    k->counts = (int32_t *)rllb_carve(c, n, sizeof(int32_t));
}

static void rllb_i_carry_begin(rllb_i_carry *k)
{
    int32_t i;

    memset(k->memory, 0, (size_t)k->agents * (size_t)k->memories * sizeof(float));
    memset(k->before, 0, (size_t)k->agents * (size_t)k->memories * sizeof(float));
    for (i = 0; i < k->agents * k->actions; i++) k->last[i] = -1;
}

/* Inputs of all agents. */
static void rllb_i_carry_inputs(const rllb_nn_space *s, rllb_i_carry *k, const float *obs, int32_t items)
{
    int32_t a, width = rllb_nn_space_observations(s);

    for (a = 0; a < k->agents; a++) {
        rllb_i_put_input(s, k->agents, a, obs + (size_t)a * (size_t)width, k->last + a * k->actions, NULL,
                         k->x + (size_t)a * (size_t)k->width);
        k->counts[a] = rllb_i_items_of(s, items);
    }
}

/* `rows` agents from `first` on through their network; states are carried on. */
static void rllb_i_carry_forward(const rllb_nn_space *s, rllb_i_carry *k, const rllb_nn_net *net, rllb_nn_work *work,
                                 int32_t first, int32_t rows)
{
    rllb_nn_pass pass = rllb_i_plain_pass(k->x + (size_t)first * (size_t)k->width, rows);
    size_t at = (size_t)first * (size_t)k->memories, n = (size_t)rows * (size_t)k->memories;

    if (n) memcpy(k->before + at, k->memory + at, n * sizeof(float));
    pass.items = s->items;
    pass.counts = k->counts + first;
    pass.state = n ? k->memory + at : NULL;
    rllb_nn_pass_forward(net, work, &pass, k->y + (size_t)first * (size_t)k->out);
}

static void rllb_i_carry_entries(rllb_i_carry *k, rllb_nn_archive *a)
{
    rllb_nn_archive_add(a, "agent.last", RLLB_NN_F32, k->agents, k->actions, k->last);
    if (!k->memories) return;
    rllb_nn_archive_add(a, "agent.memory", RLLB_NN_F32, k->agents, k->memories, k->memory);
    rllb_nn_archive_add(a, "agent.before", RLLB_NN_F32, k->agents, k->memories, k->before);
}

static void rllb_i_episodes_entries(rllb_nn_episodes *e, rllb_nn_archive *a)
{
    const rllb_nn_episodes_desc *d = &e->desc;
    int64_t n = d->capacity, agents = d->agents;

    rllb_nn_archive_add(a, "replay.counters", RLLB_NN_I64, RLLB_I_RING_COUNTERS, 0, e->counter);
    rllb_nn_archive_add(a, "replay.random", RLLB_NN_U64, 4, 0, e->rng.s);
    rllb_nn_archive_add(a, "replay.observation", RLLB_NN_F32, n, agents * d->observations, e->obs);
    if (d->states) rllb_nn_archive_add(a, "replay.state", RLLB_NN_F32, n, d->states, e->state);
    rllb_nn_archive_add(a, "replay.action", RLLB_NN_F32, n, agents * d->actions, e->action);
    rllb_nn_archive_add(a, "replay.reward", RLLB_NN_F32, n, agents, e->reward);
    if (d->memories) rllb_nn_archive_add(a, "replay.memory", RLLB_NN_F32, n, agents * d->memories, e->memory);
    rllb_nn_archive_add(a, "replay.terminated", RLLB_NN_U8, n, 0, e->terminated);
    rllb_nn_archive_add(a, "replay.owner", RLLB_NN_I32, n, 0, e->owner);
    rllb_nn_archive_add(a, "replay.start", RLLB_NN_I32, d->episodes, 0, e->start);
    rllb_nn_archive_add(a, "replay.length", RLLB_NN_I32, d->episodes, 0, e->length);
    rllb_nn_archive_add(a, "replay.items", RLLB_NN_I32, d->episodes, 0, e->items);
}

/* ---- >>mixer -----------------------------------------------------------------------------------------------------
   QMIX's mixing network: Q = w2(s) . ELU(W1(s)^T q + b1(s)) + v(s), with W1 and w2 made non-negative. Its weights are
   the outputs of four networks of the state. */

enum { RLLB_I_HYPER_W1, RLLB_I_HYPER_B1, RLLB_I_HYPER_W2, RLLB_I_HYPER_V, RLLB_I_HYPERS };

typedef struct rllb_i_mixer {
    const rllb_nn_net *net[RLLB_I_HYPERS];
    rllb_nn_work *work[RLLB_I_HYPERS];
    float *out[RLLB_I_HYPERS]; /* [rows][their outputs] */
    float *hidden, *d;         /* [rows][embed] ELU's output; gradient by its input */
    int32_t inputs, embed;
} rllb_i_mixer;

static float rllb_i_abs(float v)
{
    return v < 0 ? -v : v;
}

static void rllb_i_mixer_layout(const rllb_nn_net *const net[RLLB_I_HYPERS], int32_t rows, int32_t inputs,
                                int32_t embed, bool train, rllb_i_mixer *m, rllb_carver *c)
{
    size_t hidden = ((size_t)rows * (size_t)embed + RLLB_NN_PANEL - 1) / RLLB_NN_PANEL * RLLB_NN_PANEL;
    int32_t i;

    m->inputs = inputs;
    m->embed = embed;
    for (i = 0; i < RLLB_I_HYPERS; i++) {
        m->net[i] = net[i];
        m->work[i] = rllb_i_work_layout(net[i], rows, 1, 1, train, c);
        m->out[i] = (float *)rllb_carve(c, (size_t)rows * (size_t)net[i]->desc.outputs, sizeof(float));
    }
    m->hidden = (float *)rllb_carve(c, hidden, sizeof(float));
    m->d = (float *)rllb_carve(c, train ? hidden : 0, sizeof(float));
}

/* q [rows][inputs], state [rows][states] -> y [rows]. */
static void rllb_i_mixer_forward(const rllb_i_mixer *m, const float *q, const float *state, int32_t rows, float *y)
{
    const rllb_nn_kernels *k = m->net[0]->k;
    size_t embed = (size_t)m->embed, inputs = (size_t)m->inputs, r, i, e;
    size_t floats = ((size_t)rows * embed + RLLB_NN_PANEL - 1) / RLLB_NN_PANEL * RLLB_NN_PANEL;

    for (i = 0; i < RLLB_I_HYPERS; i++) rllb_nn_forward(m->net[i], m->work[i], state, rows, m->out[i]);
    for (r = 0; r < (size_t)rows; r++) {
        const float *w = m->out[RLLB_I_HYPER_W1] + r * inputs * embed;
        float *h = m->hidden + r * embed;
        memcpy(h, m->out[RLLB_I_HYPER_B1] + r * embed, embed * sizeof(float));
        for (i = 0; i < inputs; i++, w += embed) {
            float x = q[r * inputs + i];
            for (e = 0; e < embed; e++) h[e] += x * rllb_i_abs(w[e]);
        }
    }
    k->activate(RLLB_NN_ELU, m->hidden, floats, 0);
    for (r = 0; r < (size_t)rows; r++) {
        const float *w = m->out[RLLB_I_HYPER_W2] + r * embed, *h = m->hidden + r * embed;
        y[r] = m->out[RLLB_I_HYPER_V][r];
        for (e = 0; e < embed; e++) y[r] += h[e] * rllb_i_abs(w[e]);
    }
}

static float rllb_i_signed(float d, float by)
{
    return by < 0 ? -d : by > 0 ? d : 0;
}

/* After forward: dy [rows] -> dq [rows][inputs]; gradients of all networks into `gradient`, where each one's part
   begins as far from the start as its parameters from `data`. The outputs are overwritten by the gradients by them. */
static void rllb_i_mixer_backward(const rllb_i_mixer *m, const float *q, const float *dy, int32_t rows, float *dq,
                                  float *gradient, const float *data)
{
    const rllb_nn_kernels *k = m->net[0]->k;
    size_t embed = (size_t)m->embed, inputs = (size_t)m->inputs, r, i, e;
    size_t floats = ((size_t)rows * embed + RLLB_NN_PANEL - 1) / RLLB_NN_PANEL * RLLB_NN_PANEL;

    for (r = 0; r < (size_t)rows; r++) {
        float *w = m->out[RLLB_I_HYPER_W2] + r * embed;
        const float *h = m->hidden + r * embed;
        for (e = 0; e < embed; e++) {
            m->d[r * embed + e] = dy[r] * rllb_i_abs(w[e]);
            w[e] = rllb_i_signed(dy[r] * h[e], w[e]);
        }
        m->out[RLLB_I_HYPER_V][r] = dy[r];
    }
    k->activate_back(RLLB_NN_ELU, m->hidden, m->d, floats, 0);
    for (r = 0; r < (size_t)rows; r++) {
        float *w = m->out[RLLB_I_HYPER_W1] + r * inputs * embed;
        const float *d = m->d + r * embed;
        memcpy(m->out[RLLB_I_HYPER_B1] + r * embed, d, embed * sizeof(float));
        for (i = 0; i < inputs; i++, w += embed) {
            float x = q[r * inputs + i], sum = 0;
            for (e = 0; e < embed; e++) {
                sum += d[e] * rllb_i_abs(w[e]);
                w[e] = rllb_i_signed(d[e] * x, w[e]);
            }
            dq[r * inputs + i] = sum;
        }
    }
    for (i = 0; i < RLLB_I_HYPERS; i++) {
        rllb_nn_backward(m->net[i], m->work[i], m->out[i], rows, gradient + (m->net[i]->data - data), NULL);
    }
}

/* ---- >>qmix ------------------------------------------------------------------------------------------------------
   Value-based agents: their networks, a mixer where there is one, and copies of all that as targets; the parameters of
   each lie in one array. Cells are numbered (step, row, agent) for shared networks, and (agent, step, row) where each
   agent has its own, so that the cells of one network are neighbours. */

enum { RLLB_I_QMIX_UPDATES, RLLB_I_QMIX_STEPS, RLLB_I_QMIX_COUNTERS };

struct rllb_nn_qmix {
    rllb_nn_qmix_desc desc; /* resolved */
    int32_t nets, group;    /* networks, and agents of each */
    int32_t actions, out, width, units, mixed; /* decisions; outputs; inputs; values that learn; values mixed */
    rllb_nn_net **net, **target; /* [nets] */
    rllb_nn_net *hyper[RLLB_I_HYPERS], *hyper_target[RLLB_I_HYPERS];
    float *data, *target_data, *gradient;
    size_t floats;
    rllb_nn_opt *opt;
    rllb_nn_episodes *replay;
    rllb_nn_work **work, *other, *single; /* [nets] of a batch, with gradients; of targets; of acting */
    rllb_i_mixer mixer, mixer_target;
    rllb_nn_sequences batch;
    rllb_i_carry carry;
    float *x, *q, *next, *dq, *panels;  /* [cells][width], [cells][out] three times; scratch for softmax */
    float *chosen, *best, *d_chosen;    /* [steps + 1][batch][mixed] */
    float *value, *follow, *target_value, *d_value; /* [steps + 1][batch][units] */
    float *memory;                      /* [cells of one step][memories], twice */
    int32_t *counts;                    /* [cells of one step] */
    rllb_rng rng;
    int64_t counter[RLLB_I_QMIX_COUNTERS];
    void *block;
};

typedef struct rllb_i_qmix_plan {
    rllb_nn_qmix_desc desc;
    rllb_nn_net net, hyper[RLLB_I_HYPERS];
    rllb_nn_opt opt;
    rllb_nn_episodes replay;
    size_t floats;
    int32_t steps; /* of a batch */
} rllb_i_qmix_plan;

static void rllb_i_qmix_defaults(rllb_nn_qmix_desc *d)
{
    if (d->agents == 0) d->agents = 1;
    if (d->gamma == 0) d->gamma = 0.99f;
    if (d->gamma < 0) d->gamma = 0;
    if (d->lambda == 0) d->lambda = 0.6f;
    if (d->lambda < 0) d->lambda = 0;
    if (d->embed == 0) d->embed = 32;
    if (d->hyper == 0) d->hyper = 64;
    if (d->temperature == 0) d->temperature = 1;
    if (d->loss == RLLB_NN_LOSS_DEFAULT) d->loss = RLLB_NN_MSE;
    if (d->batch == 0) d->batch = 12;
    if (d->learn_start == 0) d->learn_start = d->batch;
    if (d->target_every == 0) d->target_every = 200;
    if (d->opt.clip_norm == 0) d->opt.clip_norm = 10;
    if (d->opt.clip_norm < 0) d->opt.clip_norm = 0;
    if (d->epsilon.from == 0) {
        d->epsilon.curve = RLLB_NN_LINEAR_DECAY;
        d->epsilon.from = 1;
        d->epsilon.to = 0.05;
        d->epsilon.steps = 10000;
    }
    d->opt.isa = d->net.isa;
    d->opt.portable = d->net.portable;
    d->net.seed = d->replay.seed = d->seed;
}

static bool rllb_i_qmix_ok(const rllb_nn_qmix_desc *d)
{
    bool ok = d->agents >= 1 && d->agents <= 1024 && d->gamma <= 1 && d->lambda <= 1 && d->tau >= 0 && d->tau <= 1;

    ok = ok && d->space.choices > 0 && (int)d->mix >= 0 && d->mix < RLLB_NN_MIX_NUM && d->states >= 0;
    ok = ok && d->embed >= 1 && d->embed <= 4096 && d->hyper <= 4096 && d->temperature > 0 && d->target_every >= 1;
    ok = ok && d->batch >= 1 && d->batch <= (1 << 16) && d->window >= 0 && d->burn >= 0 && d->learn_start >= 1;
    ok = ok && (int)d->loss >= 0 && d->loss < RLLB_NN_LOSS_NUM && !(d->bounded && d->net.dueling);
    ok = ok && (int)d->epsilon.curve >= 0 && d->epsilon.curve < RLLB_NN_CURVE_NUM;
    return ok && (d->window == 0 || d->burn < d->window);
}

static bool rllb_i_qmix_plan_make(const rllb_nn_qmix_desc *desc, rllb_i_qmix_plan *plan)
{
    static const bool deep[RLLB_I_HYPERS] = { true, false, true, true };
    rllb_nn_qmix_desc *d = &plan->desc;
    rllb_nn_net_desc h;
    int32_t mixed, i;

    memset(plan, 0, sizeof *plan);
    if (!desc) return false;
    *d = *desc;
    rllb_i_qmix_defaults(d);
    if (!rllb_i_space_resolve(&d->space) || !rllb_i_qmix_ok(d)) return false;
    rllb_i_space_net(&d->space, d->agents, d->space.choices, false, &d->net);
    if (!rllb_i_net_plan(&d->net, &plan->net)) return false;
    plan->floats = plan->net.floats * (size_t)(d->apart ? d->agents : 1);
    d->replay.agents = d->agents;
    d->replay.observations = rllb_nn_space_observations(&d->space);
    d->replay.actions = mixed = rllb_nn_space_actions(&d->space);
    d->replay.states = d->mix == RLLB_NN_MIX_QMIX ? d->states : 0;
    d->replay.memories = d->stored ? rllb_nn_net_states(&plan->net, d->space.items) : 0;
    d->replay.stream = 2;
    if (!rllb_i_episodes_plan(&d->replay, &plan->replay)) return false;
    plan->steps = d->window && d->window < plan->replay.desc.steps ? d->window : plan->replay.desc.steps;
    if (!rllb_i_batch_ok((int64_t)(plan->steps + 1) * d->batch, d->agents, &d->space, &plan->net)) return false;
    mixed *= d->agents;
    rllb_nn_net_desc_default(&h);
    h.inputs = d->states ? d->states : d->agents * d->replay.observations;
    h.isa = d->net.isa;
    h.portable = d->net.portable;
    h.normalise = d->net.normalise;
    for (i = 0; d->mix == RLLB_NN_MIX_QMIX && i < RLLB_I_HYPERS; i++) {
        h.hidden[0] = i == RLLB_I_HYPER_V ? d->embed : deep[i] && d->hyper > 0 ? d->hyper : -1;
        h.outputs = i == RLLB_I_HYPER_V ? 1 : i == RLLB_I_HYPER_W1 ? mixed * d->embed : d->embed;
        if (!rllb_i_net_plan(&h, &plan->hyper[i])) return false;
        plan->floats += plan->hyper[i].floats;
    }
    return rllb_i_opt_plan(&d->opt, plan->floats, &plan->opt);
}

/* One array of parameters and the networks over it. */
static void rllb_i_qmix_nets(const rllb_i_qmix_plan *plan, int32_t nets, float *data, rllb_nn_net **net,
                             rllb_nn_net *hyper[RLLB_I_HYPERS], rllb_carver *c)
{
    size_t at = 0;
    int32_t i;

    for (i = 0; i < nets; i++) {
        rllb_nn_net *one = rllb_i_net_layout_over(&plan->net, data, &at, c);
        if (net) net[i] = one;
    }
    for (i = 0; plan->desc.mix == RLLB_NN_MIX_QMIX && i < RLLB_I_HYPERS; i++) {
        hyper[i] = rllb_i_net_layout_over(&plan->hyper[i], data, &at, c);
    }
}

static rllb_nn_qmix *rllb_i_qmix_layout(const rllb_i_qmix_plan *plan, rllb_carver *c)
{
    const rllb_nn_qmix_desc *d = &plan->desc;
    rllb_nn_qmix q, *learner = (rllb_nn_qmix *)rllb_carve(c, 1, sizeof *learner);
    const rllb_nn_net *hyper[RLLB_I_HYPERS];
    int32_t rows, items, i;
    size_t cells, steps = (size_t)plan->steps + 1, batch = (size_t)d->batch, n, softmax;

    memset(&q, 0, sizeof q);
    q.desc = *d;
    q.nets = d->apart ? d->agents : 1;
    q.group = d->agents / q.nets;
    q.actions = rllb_nn_space_actions(&d->space);
    q.out = q.actions * d->space.choices;
    q.width = rllb_nn_net_inputs(&plan->net, d->space.items);
    q.units = d->mix == RLLB_NN_MIX_NONE ? d->agents : 1;
    q.mixed = d->agents * q.actions;
    q.floats = plan->floats;
    q.data = (float *)rllb_carve(c, plan->floats, sizeof(float));
    q.target_data = (float *)rllb_carve(c, plan->floats, sizeof(float));
    q.gradient = (float *)rllb_carve(c, plan->floats, sizeof(float));
    n = (size_t)q.nets;
    q.net = (rllb_nn_net **)rllb_carve(c, n, sizeof(rllb_nn_net *));
    q.target = (rllb_nn_net **)rllb_carve(c, n, sizeof(rllb_nn_net *));
    q.work = (rllb_nn_work **)rllb_carve(c, n, sizeof(rllb_nn_work *));
    rllb_i_qmix_nets(plan, q.nets, q.data, q.net, q.hyper, c);
    rllb_i_qmix_nets(plan, q.nets, q.target_data, q.target, q.hyper_target, c);
    q.opt = rllb_i_opt_layout(&plan->opt, c);
    q.replay = rllb_i_episodes_layout(&plan->replay, c);
    rows = d->batch * q.group;
    items = d->space.items ? d->space.items : 1;
    for (i = 0; i < q.nets; i++) {
        rllb_nn_work *work = rllb_i_work_layout(&plan->net, rows, plan->steps + 1, items, true, c);
        if (q.work) q.work[i] = work;
    }
    q.other = rllb_i_work_layout(&plan->net, rows, plan->steps + 1, items, false, c);
    q.single = rllb_i_work_layout(&plan->net, q.group, 1, items, false, c);
    for (i = 0; i < RLLB_I_HYPERS; i++) hyper[i] = learner ? q.hyper[i] : &plan->hyper[i];
    if (d->mix == RLLB_NN_MIX_QMIX) {
        int32_t all = (plan->steps + 1) * d->batch;
        rllb_i_mixer_layout(hyper, all, q.mixed, d->embed, true, &q.mixer, c);
        for (i = 0; learner && i < RLLB_I_HYPERS; i++) hyper[i] = q.hyper_target[i];
        rllb_i_mixer_layout(hyper, all, q.mixed, d->embed, false, &q.mixer_target, c);
    }
    rllb_i_sequences_layout(&plan->replay.desc, d->batch, plan->steps, &q.batch, c);
    rllb_i_carry_layout(&d->space, &plan->net, d->agents, &q.carry, c);
    cells = steps * batch * (size_t)d->agents;
    softmax = d->bounded ? cells : (size_t)d->agents;
    q.x = (float *)rllb_carve(c, cells * (size_t)q.width, sizeof(float));
    q.q = (float *)rllb_carve(c, cells * (size_t)q.out, sizeof(float));
    q.next = (float *)rllb_carve(c, cells * (size_t)q.out, sizeof(float));
    q.dq = (float *)rllb_carve(c, cells * (size_t)q.out, sizeof(float));
    q.panels = (float *)rllb_carve(c, rllb_nn_tensor_floats((int32_t)softmax * q.actions, d->space.choices),
                                   sizeof(float));
    q.chosen = (float *)rllb_carve(c, steps * batch * (size_t)q.mixed, sizeof(float));
    q.best = (float *)rllb_carve(c, steps * batch * (size_t)q.mixed, sizeof(float));
    q.d_chosen = (float *)rllb_carve(c, steps * batch * (size_t)q.mixed, sizeof(float));
    q.value = (float *)rllb_carve(c, steps * batch * (size_t)q.units, sizeof(float));
    q.follow = (float *)rllb_carve(c, steps * batch * (size_t)q.units, sizeof(float));
    q.target_value = (float *)rllb_carve(c, steps * batch * (size_t)q.units, sizeof(float));
    q.d_value = (float *)rllb_carve(c, steps * batch * (size_t)q.units, sizeof(float));
    q.memory = (float *)rllb_carve(c, 2 * batch * (size_t)d->agents * (size_t)q.carry.memories, sizeof(float));
    q.counts = (int32_t *)rllb_carve(c, batch * (size_t)d->agents, sizeof(int32_t));
    if (learner) *learner = q;
    return learner;
}

void rllb_nn_qmix_desc_default(rllb_nn_qmix_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_nn_qmix_size(const rllb_nn_qmix_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_i_qmix_plan plan;

    if (!rllb_i_qmix_plan_make(desc, &plan)) return 0;
    rllb_i_qmix_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_qmix_init(const rllb_nn_qmix_desc *desc, void *mem, size_t size, rllb_nn_qmix **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_i_qmix_plan plan;
    rllb_nn_qmix *q;
    rllb_status status;
    int32_t i;

    if (!out || !rllb_i_qmix_plan_make(desc, &plan)) return RLLB_ERROR_ARGUMENT;
    plan.net.k = plan.opt.k = rllb_nn_kernels_query(plan.desc.net.isa, plan.desc.net.portable);
    for (i = 0; i < RLLB_I_HYPERS; i++) plan.hyper[i].k = plan.net.k;
    if (!plan.net.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_qmix_size(desc));
    if (status != RLLB_OK) return status;
    q = rllb_i_qmix_layout(&plan, &c);
    rllb_rng_init(&q->replay->rng, plan.desc.replay.seed, plan.desc.replay.stream);
    rllb_rng_init(&q->rng, plan.desc.seed, 3);
    for (i = 0; i < q->nets; i++) {
        rllb_nn_net_reset(q->net[i], plan.desc.seed, 16 + (uint64_t)i);
        rllb_i_same_normal(q->target[i], q->net[i]);
    }
    for (i = 0; plan.desc.mix == RLLB_NN_MIX_QMIX && i < RLLB_I_HYPERS; i++) {
        if (i) rllb_i_same_normal(q->hyper[i], q->hyper[0]);
        rllb_i_same_normal(q->hyper_target[i], q->hyper[0]);
        rllb_nn_net_reset(q->hyper[i], plan.desc.seed, 8 + (uint64_t)i);
    }
    memcpy(q->target_data, q->data, q->floats * sizeof(float));
    rllb_i_put_raw(&q->desc.space, &q->net[0]->desc, q->carry.raw);
    rllb_i_carry_begin(&q->carry);
    *out = q;
    return RLLB_OK;
}

rllb_nn_qmix *rllb_nn_qmix_create(const rllb_nn_qmix_desc *desc)
{
    size_t size = rllb_nn_qmix_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_qmix *q = NULL;

    if (block && rllb_nn_qmix_init(desc, block, size, &q) == RLLB_OK) {
        q->block = block;
        return q;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_qmix_destroy(rllb_nn_qmix *q)
{
    if (q) rllb_block_free(q->block);
}

void rllb_nn_qmix_query(const rllb_nn_qmix *q, rllb_nn_qmix_desc *out)
{
    *out = q->desc;
    rllb_nn_net_query(q->net[0], &out->net);
    rllb_nn_opt_query(q->opt, &out->opt);
    rllb_nn_episodes_query(q->replay, &out->replay);
}

double rllb_nn_qmix_epsilon(const rllb_nn_qmix *q)
{
    return rllb_nn_schedule_at(&q->desc.epsilon, q->counter[RLLB_I_QMIX_STEPS]);
}

void rllb_nn_qmix_begin(rllb_nn_qmix *q)
{
    rllb_i_carry_begin(&q->carry);
}

/* Values of `cells` cells into (0, 1). */
static void rllb_i_qmix_bound(rllb_nn_qmix *q, float *values, int32_t cells)
{
    if (!q->desc.bounded) return;
    rllb_i_softmax_rows(q->net[0]->k, values, cells * q->actions, q->desc.space.choices, q->panels, values, NULL);
}

rllb_status rllb_nn_qmix_act(rllb_nn_qmix *q, const float *obs, int32_t items, bool explore, float *action)
{
    const rllb_nn_space *s = &q->desc.space;
    int32_t n = q->desc.agents * q->actions, i, c;
    double epsilon = rllb_nn_qmix_epsilon(q);

    if (!obs || !action) return RLLB_ERROR_ARGUMENT;
    if (!rllb_i_all_finite(obs, q->desc.agents * rllb_nn_space_observations(s))) return RLLB_ERROR_NOT_FINITE;
    rllb_i_rng_wake(&q->rng);
    rllb_i_carry_inputs(s, &q->carry, obs, items);
    for (i = 0; i < q->nets; i++) {
        rllb_i_carry_forward(s, &q->carry, q->net[i], q->single, i * q->group, q->group);
    }
    rllb_i_qmix_bound(q, q->carry.y, q->desc.agents);
    if (explore && q->desc.sampled) {
        for (i = 0; !q->desc.bounded && i < n * s->choices; i++) q->carry.y[i] /= q->desc.temperature;
        if (!q->desc.bounded) {
            rllb_i_softmax_rows(q->net[0]->k, q->carry.y, n, s->choices, q->panels, q->carry.y, NULL);
        }
    }
    for (i = 0; i < n; i++) {
        const float *values = q->carry.y + (size_t)i * (size_t)s->choices;
        if (!rllb_i_decides(s, i % q->actions, rllb_i_items_of(s, items))) c = 0;
        else if (explore && q->desc.sampled) c = rllb_i_draw_choice(&q->rng, values, s->choices);
        else if (explore && rllb_rng_double(&q->rng) < epsilon) c = rllb_rng_below(&q->rng, s->choices);
        else c = rllb_i_argmax(values, NULL, s->choices);
        q->carry.last[i] = action[i] = (float)c;
    }
    return RLLB_OK;
}

rllb_status rllb_nn_qmix_observe(rllb_nn_qmix *q, const rllb_nn_step *step)
{
    const rllb_nn_space *s = &q->desc.space;
    int32_t n = q->desc.agents, a;
    rllb_nn_step kept;
    rllb_status status;

    if (!step) return RLLB_ERROR_ARGUMENT;
    kept = *step;
    kept.memory = q->desc.stored ? q->carry.before : NULL;
    status = rllb_nn_episodes_observe(q->replay, &kept);
    if (status != RLLB_OK) return status;
    rllb_i_tick(&q->counter[RLLB_I_QMIX_STEPS]);
    if (q->desc.net.normalise) {
        rllb_i_carry_inputs(s, &q->carry, step->obs, step->items);
        for (a = 0; a < n; a++) {
            rllb_nn_net_observe(q->net[a / q->group], q->carry.x + (size_t)a * (size_t)q->width,
                                rllb_i_items_of(s, step->items), q->carry.raw);
        }
        if (q->hyper[0]) rllb_nn_net_observe(q->hyper[0], q->desc.states ? step->state : step->obs, 1, NULL);
    }
    memcpy(q->carry.last, step->action, (size_t)q->mixed * sizeof(float));
    if (step->terminated || step->truncated) rllb_i_carry_begin(&q->carry);
    return RLLB_OK;
}

/* The cell of an agent in row b of step t. */
static size_t rllb_i_qmix_cell(const rllb_nn_qmix *q, int32_t t, int32_t b, int32_t agent)
{
    int32_t steps = q->batch.steps + 1;

    if (q->nets == 1) return ((size_t)t * (size_t)q->desc.batch + (size_t)b) * (size_t)q->desc.agents + (size_t)agent;
    return ((size_t)agent * (size_t)steps + (size_t)t) * (size_t)q->desc.batch + (size_t)b;
}

/* Inputs, counts and first states of all cells from the batch. */
static void rllb_i_qmix_inputs(rllb_nn_qmix *q)
{
    const rllb_nn_space *s = &q->desc.space;
    const rllb_nn_sequences *b = &q->batch;
    int32_t rows = q->desc.batch, agents = q->desc.agents, obs = rllb_nn_space_observations(s), t, r, a;
    size_t memories = (size_t)q->carry.memories;

    for (t = 0; t <= b->steps; t++) {
        for (r = 0; r < rows; r++) {
            for (a = 0; a < agents; a++) {
                size_t cell = rllb_i_qmix_cell(q, t, r, a), from = (size_t)(t * rows + r) * (size_t)agents + (size_t)a;
                const float *last = t == 0 ? b->before : b->action + (size_t)(t - 1) * (size_t)(rows * q->mixed);
                last += (size_t)(r * agents + a) * (size_t)q->actions;
                rllb_i_put_input(s, agents, a, b->obs + from * (size_t)obs, last, NULL, q->x + cell * (size_t)q->width);
                if (t) continue;
                cell = q->nets == 1 ? cell : (size_t)a * (size_t)rows + (size_t)r; /* among those of one step */
                q->counts[cell] = rllb_i_items_of(s, b->items[r]);
                if (q->desc.stored) {
                    memcpy(q->memory + cell * memories, b->memory + from * memories, memories * sizeof(float));
                }
            }
        }
    }
}

/* All cells through one set of networks: learning ones with gradients, or targets. */
static void rllb_i_qmix_run(rllb_nn_qmix *q, rllb_nn_net **net, rllb_nn_work **work, float *y)
{
    int32_t rows = q->desc.batch * q->group, steps = q->batch.steps + 1, i;

    for (i = 0; i < q->nets; i++) {
        size_t cells = (size_t)i * (size_t)steps * (size_t)rows, first = (size_t)i * (size_t)rows;
        rllb_nn_pass pass = rllb_i_plain_pass(q->x + cells * (size_t)q->width, rows);
        size_t memories = (size_t)rows * (size_t)q->carry.memories;
        pass.steps = steps;
        pass.items = q->desc.space.items;
        pass.counts = q->counts + first;
        if (q->desc.stored) { /* a copy, since a pass leaves the last state there */
            pass.state = q->memory + (size_t)(q->desc.batch * q->desc.agents) * (size_t)q->carry.memories;
            memcpy(pass.state, q->memory + first * (size_t)q->carry.memories, memories * sizeof(float));
        }
        rllb_nn_pass_forward(net[i], work ? work[i] : q->other, &pass, y + cells * (size_t)q->out);
    }
}

/* From the values of all choices to those that are mixed: of the actions taken (online), of the best next ones. */
static void rllb_i_qmix_pick(rllb_nn_qmix *q)
{
    const rllb_nn_space *s = &q->desc.space;
    const rllb_nn_sequences *b = &q->batch;
    int32_t rows = q->desc.batch, agents = q->desc.agents, choices = s->choices, t, r, a, d;

    for (t = 0; t <= b->steps; t++) {
        for (r = 0; r < rows; r++) {
            size_t row = (size_t)(t * rows + r) * (size_t)q->mixed;
            for (a = 0; a < agents; a++) {
                size_t cell = rllb_i_qmix_cell(q, t, r, a) * (size_t)q->out;
                for (d = 0; d < q->actions; d++) {
                    size_t at = row + (size_t)(a * q->actions + d), from = cell + (size_t)(d * choices);
                    int32_t best = rllb_i_argmax((q->desc.double_q ? q->q : q->next) + from, NULL, choices);
                    bool there = rllb_i_decides(s, d, rllb_i_items_of(s, b->items[r]));
                    q->best[at] = there ? q->next[from + (size_t)best] : 0;
                    q->chosen[at] = 0;
                    if (there && t < b->steps) q->chosen[at] = q->q[from + (size_t)rllb_i_choice(s, b->action[at])];
                }
            }
        }
    }
}

/* Values to mix -> value of each unit, for `cells` rows of steps. */
static void rllb_i_qmix_mix(rllb_nn_qmix *q, const rllb_i_mixer *m, const float *from, int32_t cells, float *value)
{
    const float *state = q->desc.states ? q->batch.state : q->batch.obs;
    int32_t i, u, d, per = q->mixed / q->units;

    if (q->desc.mix == RLLB_NN_MIX_QMIX) {
        rllb_i_mixer_forward(m, from, state, cells, value);
        return;
    }
    for (i = 0; i < cells; i++) {
        int32_t items = rllb_i_items_of(&q->desc.space, q->batch.items[i % q->desc.batch]);
        float share = q->desc.mix == RLLB_NN_MIX_SUM ? 1 : 1 / (float)rllb_i_decisions(&q->desc.space, items);
        for (u = 0; u < q->units; u++) {
            const float *x = from + (size_t)i * (size_t)q->mixed + (size_t)(u * per);
            float sum = 0;
            for (d = 0; d < per; d++) sum += x[d];
            value[i * q->units + u] = sum * share;
        }
    }
}

static float rllb_i_qmix_reward(const rllb_nn_qmix *q, int32_t cell, int32_t unit)
{
    const float *reward = q->batch.reward + (size_t)cell * (size_t)q->desc.agents;
    float sum = 0;
    int32_t a;

    if (q->desc.mix == RLLB_NN_MIX_NONE) return reward[unit];
    for (a = 0; a < q->desc.agents; a++) sum += reward[a];
    return sum / (float)q->desc.agents;
}

/* TD(lambda) targets, backwards through time: G = r + gamma ((1 - lambda) V' + lambda G'), where nothing follows a
   terminated step and G of what a sequence ends in is its V. */
static void rllb_i_qmix_returns(rllb_nn_qmix *q)
{
    const rllb_nn_sequences *b = &q->batch;
    int32_t rows = q->desc.batch, t, r, u;
    float lambda = q->desc.lambda;

    for (r = 0; r < rows; r++) {
        for (u = 0; u < q->units; u++) {
            float g = 0;
            for (t = b->length[r] - 1; t >= 0; t--) {
                int32_t cell = t * rows + r;
                float v = q->follow[(cell + rows) * q->units + u];
                if (t == b->length[r] - 1) g = v;
                g = rllb_i_qmix_reward(q, cell, u) +
                    (b->terminated[cell] ? 0 : q->desc.gamma * ((1 - lambda) * v + lambda * g));
                q->target_value[cell * q->units + u] = g;
            }
        }
    }
}

/* Loss over the steps that are there, and its gradient by each unit's value; without a mixer by each decision's. */
static void rllb_i_qmix_loss(rllb_nn_qmix *q, rllb_nn_qmix_report *report)
{
    const rllb_nn_sequences *b = &q->batch;
    const rllb_nn_space *s = &q->desc.space;
    int32_t rows = q->desc.batch, burn = q->net[0]->gru >= 0 ? q->desc.burn : 0, cells = b->steps * rows, i, u, d;
    int32_t per = q->mixed / q->units, counted = 0;
    double loss = 0, value = 0, target = 0;
    float share, slope;

    for (i = 0; i < cells; i++) counted += b->filled[i] && i / rows >= burn;
    share = counted ? 1 / ((float)counted * (float)q->units) : 0;
    memset(q->d_value, 0, (size_t)(cells + rows) * (size_t)q->units * sizeof(float));
    memset(q->d_chosen, 0, (size_t)(cells + rows) * (size_t)q->mixed * sizeof(float));
    for (i = 0; i < cells * q->units; i++) {
        int32_t cell = i / q->units, items = rllb_i_items_of(s, b->items[cell % rows]), many;
        if (!b->filled[cell] || cell / rows < burn) continue;
        u = i % q->units;
        value += (double)(share * q->value[i]);
        target += (double)(share * q->target_value[i]);
        if (q->desc.mix != RLLB_NN_MIX_NONE) {
            loss += (double)(share * rllb_i_loss(q->desc.loss, 1, q->value[i] - q->target_value[i], &slope));
            q->d_value[i] = share * slope;
            continue;
        }
        many = rllb_i_decisions(s, items);
        for (d = 0; d < per; d++) { /* every head learns the same return */
            size_t at = (size_t)cell * (size_t)q->mixed + (size_t)(u * per + d);
            float part = share / (float)many;
            if (!rllb_i_decides(s, d, items)) continue;
            loss += (double)(part * rllb_i_loss(q->desc.loss, 1, q->chosen[at] - q->target_value[i], &slope));
            q->d_chosen[at] = part * slope;
        }
    }
    report->loss = (float)loss;
    report->mean_value = (float)value;
    report->mean_target = (float)target;
}

/* From gradients by the mixed values to gradients by the outputs of the networks. */
static void rllb_i_qmix_spread(rllb_nn_qmix *q)
{
    const rllb_nn_sequences *b = &q->batch;
    const rllb_nn_space *s = &q->desc.space;
    int32_t rows = q->desc.batch, agents = q->desc.agents, choices = s->choices, t, r, a, d, c;

    memset(q->dq, 0, (size_t)(b->steps + 1) * (size_t)(rows * agents) * (size_t)q->out * sizeof(float));
    for (t = 0; t < b->steps; t++) {
        for (r = 0; r < rows; r++) {
            for (a = 0; a < agents; a++) {
                size_t cell = rllb_i_qmix_cell(q, t, r, a) * (size_t)q->out;
                for (d = 0; d < q->actions; d++) {
                    size_t at = (size_t)(t * rows + r) * (size_t)q->mixed + (size_t)(a * q->actions + d);
                    size_t from = cell + (size_t)(d * choices);
                    int32_t taken = rllb_i_choice(s, b->action[at]);
                    float g = q->d_chosen[at], p = q->q[from + (size_t)taken];
                    if (!rllb_i_decides(s, d, rllb_i_items_of(s, b->items[r]))) continue;
                    q->dq[from + (size_t)taken] = g;
                    for (c = 0; q->desc.bounded && c < choices; c++) { /* through the softmax */
                        q->dq[from + (size_t)c] = g * p * ((c == taken ? 1.0f : 0.0f) - q->q[from + (size_t)c]);
                    }
                }
            }
        }
    }
}

static void rllb_i_qmix_backward(rllb_nn_qmix *q)
{
    int32_t rows = q->desc.batch * q->group, steps = q->batch.steps + 1, i;

    for (i = 0; i < q->nets; i++) {
        size_t cells = (size_t)i * (size_t)steps * (size_t)rows;
        rllb_nn_pass pass = rllb_i_plain_pass(NULL, rows);
        pass.steps = steps;
        pass.items = q->desc.space.items;
        pass.counts = q->counts + (size_t)i * (size_t)rows;
        pass.burn = q->desc.burn;
        rllb_nn_pass_backward(q->net[i], q->work[i], &pass, q->dq + cells * (size_t)q->out,
                              q->gradient + (q->net[i]->data - q->data), NULL);
    }
}

/* One step on the batch that lies in q->batch. */
static rllb_status rllb_i_qmix_learn(rllb_nn_qmix *q, rllb_nn_qmix_report *report)
{
    int32_t rows = q->desc.batch, cells = (q->batch.steps + 1) * rows, i;
    rllb_status status;

    rllb_i_qmix_inputs(q);
    rllb_i_qmix_run(q, q->target, NULL, q->next);
    rllb_i_qmix_run(q, q->net, q->work, q->q);
    rllb_i_qmix_bound(q, q->next, cells * q->desc.agents);
    rllb_i_qmix_bound(q, q->q, cells * q->desc.agents);
    rllb_i_qmix_pick(q);
    rllb_i_qmix_mix(q, &q->mixer_target, q->best, cells, q->follow);
    rllb_i_qmix_mix(q, &q->mixer, q->chosen, cells - rows, q->value);
    rllb_i_qmix_returns(q);
    rllb_i_qmix_loss(q, report);
    if (q->desc.mix == RLLB_NN_MIX_QMIX) {
        rllb_i_mixer_backward(&q->mixer, q->chosen, q->d_value, cells - rows, q->d_chosen, q->gradient, q->data);
    } else if (q->desc.mix == RLLB_NN_MIX_SUM) {
        for (i = 0; i < (cells - rows) * q->mixed; i++) q->d_chosen[i] = q->d_value[i / q->mixed];
    }
    rllb_i_qmix_spread(q);
    rllb_i_qmix_backward(q);
    if (!rllb_i_all_finite(&report->loss, 1)) return RLLB_ERROR_NOT_FINITE;
    status = rllb_nn_opt_step(q->opt, q->data, q->gradient, &report->gradient_norm);
    if (status != RLLB_OK) return status;
    rllb_i_tick(&q->counter[RLLB_I_QMIX_UPDATES]);
    if (q->desc.tau > 0) {
        q->net[0]->k->blend(q->target_data, q->data, q->floats, q->desc.tau);
    } else if (q->counter[RLLB_I_QMIX_UPDATES] % q->desc.target_every == 0) {
        memcpy(q->target_data, q->data, q->floats * sizeof(float));
    }
    return RLLB_OK;
}

rllb_status rllb_nn_qmix_update(rllb_nn_qmix *q, rllb_nn_qmix_report *report)
{
    rllb_nn_qmix_report unseen;
    rllb_status status;

    if (!report) report = &unseen;
    memset(report, 0, sizeof *report);
    if (rllb_nn_episodes_count(q->replay) < q->desc.learn_start) return RLLB_ERROR_EMPTY;
    status = rllb_nn_episodes_sample(q->replay, q->desc.batch, q->desc.window, &q->batch);
    return status == RLLB_OK ? rllb_i_qmix_learn(q, report) : status;
}

int64_t rllb_nn_qmix_updates(const rllb_nn_qmix *q)
{
    return q->counter[RLLB_I_QMIX_UPDATES];
}

rllb_nn_net *rllb_nn_qmix_net(rllb_nn_qmix *q, int32_t agent)
{
    if (agent < 0 || agent >= q->desc.agents) return NULL;
    return q->net[agent / q->group];
}

rllb_nn_episodes *rllb_nn_qmix_replay(rllb_nn_qmix *q)
{
    return q->replay;
}

/* ---- >>sac -------------------------------------------------------------------------------------------------------
   Soft actor-critic: one actor, two critics and their slow copies, a temperature. The agents of a step are rows beside
   each other: `rows` sequences of the batch are rows * agents cells a step. Recurrent networks run over all steps and
   one more, and what follows a step is the next one of the same pass; others run over the steps, and apart from that
   over what follows them. A critic that is asked about actions (continuous, and the released discrete form) has them
   among its inputs and answers one number; of a set, the mean of one for each item. A recurrent one that is asked about
   actions drawn anew has those in its history too, as in the published codes. */

enum { RLLB_I_SAC_UPDATES, RLLB_I_SAC_STEPS, RLLB_I_SAC_COUNTERS };

struct rllb_nn_sac {
    rllb_nn_sac_desc desc; /* resolved */
    bool asked, recurrent;
    int32_t actions, per, width, out;     /* decisions; the actor's outputs of each; its inputs; its outputs */
    int32_t asked_width, asked_out;       /* the critics' inputs and outputs */
    rllb_nn_net *actor, *critic[2], *target[2];
    float *critics, *targets;             /* parameters of both critics, and of their targets */
    float *actor_gradient, *critic_gradient, *ignored;
    size_t critic_floats;
    rllb_nn_opt *actor_opt, *critic_opt, *alpha_opt;
    float *log_alpha, *alpha_gradient;    /* [16], of which one counts */
    rllb_nn_episodes *replay;
    rllb_nn_work *actor_work, *critic_work[2], *actor_other, *critic_other, *single;
    rllb_nn_sequences batch;
    rllb_i_carry carry;
    unsigned char *critic_raw;
    float *x, *ask;                       /* [cells + those of one step][width], [...][asked_width] */
    float *y, *p, *log_p, *dy;            /* [...][out] of the actor: outputs, softmax, its logarithm, gradient */
    float *drawn, *noise, *log_pi;        /* [...][actions] actions drawn; their noise; [...] mean log pi */
    float *q[2], *dq, *dx;                /* [...][asked_out] values; gradient; [...][asked_width] */
    float *panels, *value, *wanted;       /* scratch for softmax; [...] of what follows; targets */
    float *memory;                        /* [cells of one step][memories], twice */
    int32_t *counts;                      /* [cells of one step] */
    rllb_rng rng;
    int64_t counter[RLLB_I_SAC_COUNTERS];
    void *block;
};

typedef struct rllb_i_sac_plan {
    rllb_nn_sac_desc desc;
    rllb_nn_net actor, critic;
    rllb_nn_opt actor_opt, critic_opt, alpha_opt;
    rllb_nn_episodes replay;
    int32_t steps; /* of a batch */
    bool asked;
} rllb_i_sac_plan;

static void rllb_i_sac_opt(rllb_nn_opt_desc *o, const rllb_nn_net_desc *net)
{
    if (o->lr.from == 0) o->lr.from = 3e-4;
    o->isa = net->isa;
    o->portable = net->portable;
}

static void rllb_i_sac_defaults(rllb_nn_sac_desc *d)
{
    if (d->critic.hidden[0] == 0 && d->critic.gru == 0 && d->critic.after[0] == 0) d->critic = d->actor;
    d->critic.isa = d->actor.isa;
    d->critic.portable = d->actor.portable;
    d->critic.normalise = d->actor.normalise;
    if (d->agents == 0) d->agents = 1;
    if (d->gamma == 0) d->gamma = 0.99f;
    if (d->gamma < 0) d->gamma = 0;
    if (d->tau == 0) d->tau = 0.005f;
    if (d->alpha == 0) d->alpha = 1;
    if (d->entropy == 0) d->entropy = d->space.choices ? 0.3f : -1.0f;
    if (d->reward_scale == 0) d->reward_scale = 1;
    if (d->batch == 0) d->batch = 64;
    if (d->learn_start == 0) d->learn_start = d->batch;
    if (d->window == 0 && !d->actor.gru && !d->critic.gru) d->window = 1;
    rllb_i_sac_opt(&d->actor_opt, &d->actor);
    rllb_i_sac_opt(&d->critic_opt, &d->actor);
    rllb_i_sac_opt(&d->alpha_opt, &d->actor);
    d->actor.seed = d->critic.seed = d->replay.seed = d->seed;
}

static bool rllb_i_sac_ok(const rllb_nn_sac_desc *d)
{
    bool ok = d->agents >= 1 && d->agents <= 1024 && d->gamma <= 1 && d->tau > 0 && d->tau <= 1 && d->alpha > 0;

    ok = ok && d->alpha < 1e6f && (int)d->form >= 0 && d->form < RLLB_NN_SAC_FORM_NUM && d->entropy > -1000;
    ok = ok && d->entropy < 1000 && d->reward_scale > 0 && d->reward_scale < 1e9f;
    ok = ok && (d->form == RLLB_NN_SAC_EXACT || d->space.choices) && !d->actor.dueling;
    ok = ok && d->batch >= 1 && d->batch <= (1 << 16) && d->window >= 0 && d->burn >= 0 && d->learn_start >= 1;
    ok = ok && (d->actor.gru > 0) == (d->critic.gru > 0);
    return ok && (d->window == 0 || d->burn < d->window);
}

static bool rllb_i_sac_plan_make(const rllb_nn_sac_desc *desc, rllb_i_sac_plan *plan)
{
    rllb_nn_sac_desc *d = &plan->desc;
    int32_t per;

    memset(plan, 0, sizeof *plan);
    if (!desc) return false;
    *d = *desc;
    rllb_i_sac_defaults(d);
    if (!rllb_i_space_resolve(&d->space) || !rllb_i_sac_ok(d)) return false;
    per = d->space.choices ? d->space.choices : 2;
    plan->asked = !d->space.choices || d->form == RLLB_NN_SAC_RELEASED;
    rllb_i_space_net(&d->space, d->agents, per, false, &d->actor);
    rllb_i_space_net(&d->space, d->agents, plan->asked ? 1 : per, plan->asked, &d->critic);
    if (plan->asked) {
        d->critic.heads = 1;
        d->critic.outputs = rllb_i_is_set(&d->space) ? 0 : 1;
    }
    if (!rllb_i_net_plan(&d->actor, &plan->actor) || !rllb_i_net_plan(&d->critic, &plan->critic)) return false;
    d->replay.agents = d->agents;
    d->replay.observations = rllb_nn_space_observations(&d->space);
    d->replay.actions = rllb_nn_space_actions(&d->space);
    d->replay.states = 0;
    d->replay.memories = d->stored ? rllb_nn_net_states(&plan->actor, d->space.items) : 0;
    d->replay.stream = 2;
    if (!rllb_i_episodes_plan(&d->replay, &plan->replay)) return false;
    plan->steps = d->window && d->window < plan->replay.desc.steps ? d->window : plan->replay.desc.steps;
    return rllb_i_batch_ok((int64_t)(plan->steps + 1) * d->batch, d->agents, &d->space, &plan->actor) &&
           rllb_i_batch_ok((int64_t)(plan->steps + 1) * d->batch, d->agents, &d->space, &plan->critic) &&
           rllb_i_opt_plan(&d->actor_opt, plan->actor.floats, &plan->actor_opt) &&
           rllb_i_opt_plan(&d->critic_opt, 2 * plan->critic.floats, &plan->critic_opt) &&
           rllb_i_opt_plan(&d->alpha_opt, RLLB_NN_PANEL, &plan->alpha_opt);
}

static rllb_nn_sac *rllb_i_sac_layout(const rllb_i_sac_plan *plan, rllb_carver *c)
{
    const rllb_nn_sac_desc *d = &plan->desc;
    rllb_nn_sac s, *learner = (rllb_nn_sac *)rllb_carve(c, 1, sizeof *learner);
    int32_t items = d->space.items ? d->space.items : 1, row = d->batch * d->agents, steps, i;
    size_t one = (size_t)row, cells = one * ((size_t)plan->steps + 1), at = 0;

    memset(&s, 0, sizeof s);
    s.desc = *d;
    s.asked = plan->asked;
    s.recurrent = plan->actor.gru >= 0;
    s.actions = rllb_nn_space_actions(&d->space);
    s.per = d->space.choices ? d->space.choices : 2;
    s.width = rllb_nn_net_inputs(&plan->actor, d->space.items);
    s.out = rllb_nn_net_outputs(&plan->actor, d->space.items);
    s.asked_width = rllb_nn_net_inputs(&plan->critic, d->space.items);
    s.asked_out = rllb_nn_net_outputs(&plan->critic, d->space.items);
    s.critic_floats = plan->critic.floats;
    s.critics = (float *)rllb_carve(c, 2 * plan->critic.floats, sizeof(float));
    s.targets = (float *)rllb_carve(c, 2 * plan->critic.floats, sizeof(float));
    s.actor_gradient = (float *)rllb_carve(c, plan->actor.floats, sizeof(float));
    s.critic_gradient = (float *)rllb_carve(c, 2 * plan->critic.floats, sizeof(float));
    s.ignored = (float *)rllb_carve(c, plan->asked ? plan->critic.floats : 0, sizeof(float));
    s.actor = rllb_i_net_layout(&plan->actor, c);
    for (i = 0; i < 2; i++) s.critic[i] = rllb_i_net_layout_over(&plan->critic, s.critics, &at, c);
    for (i = 0, at = 0; i < 2; i++) s.target[i] = rllb_i_net_layout_over(&plan->critic, s.targets, &at, c);
    s.actor_opt = rllb_i_opt_layout(&plan->actor_opt, c);
    s.critic_opt = rllb_i_opt_layout(&plan->critic_opt, c);
    s.alpha_opt = rllb_i_opt_layout(&plan->alpha_opt, c);
    s.log_alpha = (float *)rllb_carve(c, RLLB_NN_PANEL, sizeof(float));
    s.alpha_gradient = (float *)rllb_carve(c, RLLB_NN_PANEL, sizeof(float));
    s.replay = rllb_i_episodes_layout(&plan->replay, c);
    steps = s.recurrent ? plan->steps + 1 : 1; /* without memory the steps are rows too */
    i = s.recurrent ? row : row * plan->steps;
    s.actor_work = rllb_i_work_layout(&plan->actor, i, steps, items, true, c);
    s.critic_work[0] = rllb_i_work_layout(&plan->critic, i, steps, items, true, c);
    s.critic_work[1] = rllb_i_work_layout(&plan->critic, i, steps, items, true, c);
    s.actor_other = rllb_i_work_layout(&plan->actor, i, steps, items, false, c);
    s.critic_other = rllb_i_work_layout(&plan->critic, i, steps, items, false, c);
    s.single = rllb_i_work_layout(&plan->actor, d->agents, 1, items, false, c);
    rllb_i_sequences_layout(&plan->replay.desc, d->batch, plan->steps, &s.batch, c);
    rllb_i_carry_layout(&d->space, &plan->actor, d->agents, &s.carry, c);
    s.critic_raw = (unsigned char *)rllb_carve(c, (size_t)d->critic.inputs + (size_t)d->critic.item_inputs, 1);
    s.x = (float *)rllb_carve(c, cells * (size_t)s.width, sizeof(float));
    s.ask = (float *)rllb_carve(c, plan->asked ? cells * (size_t)s.asked_width : 0, sizeof(float));
    s.y = (float *)rllb_carve(c, cells * (size_t)s.out, sizeof(float));
    s.p = (float *)rllb_carve(c, cells * (size_t)s.out, sizeof(float));
    s.log_p = (float *)rllb_carve(c, cells * (size_t)s.out, sizeof(float));
    s.dy = (float *)rllb_carve(c, cells * (size_t)s.out, sizeof(float));
    s.drawn = (float *)rllb_carve(c, cells * (size_t)s.actions, sizeof(float));
    s.noise = (float *)rllb_carve(c, cells * (size_t)s.actions, sizeof(float));
    s.log_pi = (float *)rllb_carve(c, cells, sizeof(float));
    s.q[0] = (float *)rllb_carve(c, cells * (size_t)s.asked_out, sizeof(float));
    s.q[1] = (float *)rllb_carve(c, cells * (size_t)s.asked_out, sizeof(float));
    s.dq = (float *)rllb_carve(c, cells * (size_t)s.asked_out, sizeof(float));
    s.dx = (float *)rllb_carve(c, plan->asked ? cells * (size_t)s.asked_width : 0, sizeof(float));
    at = d->space.choices ? rllb_nn_tensor_floats((int32_t)cells * s.actions, d->space.choices) : 0;
    s.panels = (float *)rllb_carve(c, at, sizeof(float));
    s.value = (float *)rllb_carve(c, cells, sizeof(float));
    s.wanted = (float *)rllb_carve(c, cells, sizeof(float));
    s.memory = (float *)rllb_carve(c, 2 * one * (size_t)s.carry.memories, sizeof(float));
    s.counts = (int32_t *)rllb_carve(c, s.recurrent ? one : cells, sizeof(int32_t));
    if (learner) *learner = s;
    return learner;
}

void rllb_nn_sac_desc_default(rllb_nn_sac_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_nn_sac_size(const rllb_nn_sac_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_i_sac_plan plan;

    if (!rllb_i_sac_plan_make(desc, &plan)) return 0;
    rllb_i_sac_layout(&plan, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_sac_init(const rllb_nn_sac_desc *desc, void *mem, size_t size, rllb_nn_sac **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_i_sac_plan plan;
    rllb_nn_sac *s;
    rllb_status status;
    int32_t i;

    if (!out || !rllb_i_sac_plan_make(desc, &plan)) return RLLB_ERROR_ARGUMENT;
    plan.actor.k = rllb_nn_kernels_query(plan.desc.actor.isa, plan.desc.actor.portable);
    plan.critic.k = plan.actor_opt.k = plan.critic_opt.k = plan.alpha_opt.k = plan.actor.k;
    if (!plan.actor.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_sac_size(desc));
    if (status != RLLB_OK) return status;
    s = rllb_i_sac_layout(&plan, &c);
    rllb_rng_init(&s->replay->rng, plan.desc.replay.seed, plan.desc.replay.stream);
    rllb_rng_init(&s->rng, plan.desc.seed, 3);
    rllb_nn_net_reset(s->actor, plan.desc.seed, 1);
    for (i = 0; i < 2; i++) {
        rllb_nn_net_reset(s->critic[i], plan.desc.seed, 4 + (uint64_t)i);
        rllb_i_same_normal(s->critic[i], s->critic[0]);
        rllb_i_same_normal(s->target[i], s->critic[0]);
    }
    memcpy(s->targets, s->critics, 2 * s->critic_floats * sizeof(float));
    s->log_alpha[0] = logf(plan.desc.alpha);
    rllb_i_put_raw(&s->desc.space, &s->actor->desc, s->carry.raw);
    rllb_i_put_raw(&s->desc.space, &s->critic[0]->desc, s->critic_raw);
    rllb_i_carry_begin(&s->carry);
    *out = s;
    return RLLB_OK;
}

rllb_nn_sac *rllb_nn_sac_create(const rllb_nn_sac_desc *desc)
{
    size_t size = rllb_nn_sac_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_sac *s = NULL;

    if (block && rllb_nn_sac_init(desc, block, size, &s) == RLLB_OK) {
        s->block = block;
        return s;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_sac_destroy(rllb_nn_sac *s)
{
    if (s) rllb_block_free(s->block);
}

void rllb_nn_sac_query(const rllb_nn_sac *s, rllb_nn_sac_desc *out)
{
    *out = s->desc;
    rllb_nn_net_query(s->actor, &out->actor);
    rllb_nn_net_query(s->critic[0], &out->critic);
    rllb_nn_opt_query(s->actor_opt, &out->actor_opt);
    rllb_nn_opt_query(s->critic_opt, &out->critic_opt);
    rllb_nn_opt_query(s->alpha_opt, &out->alpha_opt);
    rllb_nn_episodes_query(s->replay, &out->replay);
}

void rllb_nn_sac_begin(rllb_nn_sac *s)
{
    rllb_i_carry_begin(&s->carry);
}

float rllb_nn_sac_alpha(const rllb_nn_sac *s)
{
    return expf(s->log_alpha[0]);
}

/* ln(1 - tanh(u)^2), without the loss of digits. */
static float rllb_i_log_slope(float u)
{
    float twice = -2 * u, soft = twice > 0 ? twice + log1pf(expf(-twice)) : log1pf(expf(twice));
    return 2 * (0.69314718f - u - soft);
}

/* A tanh-Gaussian decision from mean and log deviation: the action, and ln of its density. */
static float rllb_i_gaussian(const float *y, float noise, float *log_pi)
{
    float log_deviation = y[1] < -20 ? -20.0f : y[1] > 2 ? 2.0f : y[1], u = y[0] + expf(log_deviation) * noise;

    *log_pi = -0.5f * noise * noise - log_deviation - 0.91893853f - rllb_i_log_slope(u);
    return tanhf(u);
}

rllb_status rllb_nn_sac_act(rllb_nn_sac *s, const float *obs, int32_t items, bool explore, float *action)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t n = s->desc.agents * s->actions, i;

    if (!obs || !action) return RLLB_ERROR_ARGUMENT;
    if (!rllb_i_all_finite(obs, s->desc.agents * rllb_nn_space_observations(space))) return RLLB_ERROR_NOT_FINITE;
    rllb_i_rng_wake(&s->rng);
    rllb_i_carry_inputs(space, &s->carry, obs, items);
    rllb_i_carry_forward(space, &s->carry, s->actor, s->single, 0, s->desc.agents);
    if (explore && space->choices) {
        rllb_i_softmax_rows(s->actor->k, s->carry.y, n, space->choices, s->panels, s->carry.y, NULL);
    }
    for (i = 0; i < n; i++) {
        const float *y = s->carry.y + (size_t)i * (size_t)s->per;
        float unused;
        if (!rllb_i_decides(space, i % s->actions, rllb_i_items_of(space, items))) action[i] = 0;
        else if (!space->choices && !explore) action[i] = tanhf(y[0]);
        else if (!space->choices) action[i] = rllb_i_gaussian(y, (float)rllb_rng_normal(&s->rng), &unused);
        else if (explore) action[i] = (float)rllb_i_draw_choice(&s->rng, y, space->choices);
        else action[i] = (float)rllb_i_argmax(y, NULL, space->choices);
        s->carry.last[i] = action[i];
    }
    return RLLB_OK;
}

rllb_status rllb_nn_sac_observe(rllb_nn_sac *s, const rllb_nn_step *step)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t width = rllb_nn_space_observations(space), items, a;
    rllb_nn_step kept;
    rllb_status status;

    if (!step) return RLLB_ERROR_ARGUMENT;
    kept = *step;
    kept.memory = s->desc.stored ? s->carry.before : NULL;
    status = rllb_nn_episodes_observe(s->replay, &kept);
    if (status != RLLB_OK) return status;
    rllb_i_tick(&s->counter[RLLB_I_SAC_STEPS]);
    items = rllb_i_items_of(space, step->items);
    for (a = 0; s->desc.actor.normalise && a < s->desc.agents; a++) {
        const float *obs = step->obs + (size_t)a * (size_t)width, *last = s->carry.last + a * s->actions;
        const float *asked = s->asked ? step->action + a * s->actions : NULL;
        rllb_i_put_input(space, s->desc.agents, a, obs, last, NULL, s->carry.x);
        rllb_nn_net_observe(s->actor, s->carry.x, items, s->carry.raw);
        rllb_i_put_input(space, s->desc.agents, a, obs, last, asked, s->asked ? s->ask : s->carry.x);
        rllb_nn_net_observe(s->critic[0], s->asked ? s->ask : s->carry.x, items, s->critic_raw);
    }
    memcpy(s->carry.last, step->action, (size_t)(s->desc.agents * s->actions) * sizeof(float));
    if (step->terminated || step->truncated) rllb_i_carry_begin(&s->carry);
    return RLLB_OK;
}

/* ---- one update ---- */

static int32_t rllb_i_sac_row(const rllb_nn_sac *s)
{
    return s->desc.batch * s->desc.agents;
}

/* The actor's inputs of all cells; counts and first states of those of one step. */
static void rllb_i_sac_inputs(rllb_nn_sac *s)
{
    const rllb_nn_space *space = &s->desc.space;
    const rllb_nn_sequences *b = &s->batch;
    int32_t row = rllb_i_sac_row(s), agents = s->desc.agents, cells = (b->steps + 1) * row, i;
    int32_t width = rllb_nn_space_observations(space), counted = s->recurrent ? row : cells;

    for (i = 0; i < cells; i++) {
        const float *last = i < row ? b->before + (size_t)i * (size_t)s->actions
                                    : b->action + (size_t)(i - row) * (size_t)s->actions;
        rllb_i_put_input(space, agents, i % agents, b->obs + (size_t)i * (size_t)width, last, NULL,
                         s->x + (size_t)i * (size_t)s->width);
    }
    for (i = 0; i < counted; i++) s->counts[i] = rllb_i_items_of(space, b->items[i % row / agents]);
}

/* The critics' inputs with the actions that are asked about, [cells][actions]; NULL: those of the batch. */
static const float *rllb_i_sac_ask(rllb_nn_sac *s, const float *action, int32_t cells)
{
    const rllb_nn_space *space = &s->desc.space;
    const rllb_nn_sequences *b = &s->batch;
    int32_t row = rllb_i_sac_row(s), agents = s->desc.agents, width = rllb_nn_space_observations(space), i;

    if (!s->asked) return s->x;
    if (!action) action = b->action;
    for (i = 0; i < cells; i++) {
        const float *last = i < row ? b->before + (size_t)i * (size_t)s->actions
                                    : b->action + (size_t)(i - row) * (size_t)s->actions;
        rllb_i_put_input(space, agents, i % agents, b->obs + (size_t)i * (size_t)width, last,
                         action + (size_t)i * (size_t)s->actions, s->ask + (size_t)i * (size_t)s->asked_width);
    }
    return s->ask;
}

static rllb_nn_pass rllb_i_sac_pass(const rllb_nn_sac *s, const float *x, int32_t steps)
{
    int32_t row = rllb_i_sac_row(s);
    rllb_nn_pass pass = rllb_i_plain_pass(x, s->recurrent ? row : row * steps);

    pass.steps = s->recurrent ? steps : 1;
    pass.items = s->desc.space.items;
    pass.counts = s->counts;
    pass.burn = s->recurrent ? s->desc.burn : 0;
    return pass;
}

/* Through the actor, from the states it had if they are stored. */
static void rllb_i_sac_actor(rllb_nn_sac *s, rllb_nn_work *work, const float *x, int32_t steps, float *y)
{
    rllb_nn_pass pass = rllb_i_sac_pass(s, x, steps);
    size_t n = (size_t)rllb_i_sac_row(s) * (size_t)s->carry.memories;

    if (s->desc.stored && n) {
        pass.state = s->memory;
        memcpy(pass.state, s->batch.memory, n * sizeof(float));
    }
    rllb_nn_pass_forward(s->actor, work, &pass, y);
}

/* From the actor's outputs in cells [first, first + cells): probabilities; and for critics that are asked, actions
   drawn and the mean ln of their probabilities. */
static void rllb_i_sac_decide(rllb_nn_sac *s, int32_t first, int32_t cells)
{
    const rllb_nn_space *space = &s->desc.space;
    size_t from = (size_t)first * (size_t)s->out;
    int32_t i, d, items, agents = s->desc.agents;

    if (space->choices) {
        rllb_i_softmax_rows(s->actor->k, s->y + from, cells * s->actions, space->choices, s->panels, s->p + from,
                            s->log_p + from);
    }
    for (i = first; s->asked && i < first + cells; i++) {
        float sum = 0;
        items = rllb_i_items_of(space, s->batch.items[i % rllb_i_sac_row(s) / agents]);
        for (d = 0; d < s->actions; d++) {
            size_t at = (size_t)i * (size_t)s->actions + (size_t)d, out = at * (size_t)s->per;
            float log_pi = 0;
            s->drawn[at] = s->noise[at] = 0;
            if (!rllb_i_decides(space, d, items)) continue;
            if (space->choices) {
                int32_t c = rllb_i_draw_choice(&s->rng, s->p + out, space->choices);
                s->drawn[at] = (float)c;
                log_pi = s->log_p[out + (size_t)c];
            } else {
                s->noise[at] = (float)rllb_rng_normal(&s->rng);
                s->drawn[at] = rllb_i_gaussian(s->y + out, s->noise[at], &log_pi);
            }
            sum += log_pi;
        }
        s->log_pi[i] = sum / (float)rllb_i_decisions(space, items);
    }
}

/* What a critic that was asked answers. */
static float rllb_i_sac_answer(const rllb_nn_sac *s, const float *q, int32_t cell, int32_t items)
{
    const float *row = q + (size_t)cell * (size_t)s->asked_out;
    float sum = 0;
    int32_t i;

    if (!rllb_i_is_set(&s->desc.space)) return row[0];
    for (i = 0; i < items; i++) sum += row[i];
    return items ? sum / (float)items : 0;
}

/* Soft value of a cell from both critics' values in s->q at `at` and the actor's decision in `cell`. */
static float rllb_i_sac_soft_value(const rllb_nn_sac *s, int32_t at, int32_t cell, float alpha)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t items = rllb_i_items_of(space, s->batch.items[cell % rllb_i_sac_row(s) / s->desc.agents]), d, c;
    float sum = 0;

    if (s->asked) {
        float a = rllb_i_sac_answer(s, s->q[0], at, items), b = rllb_i_sac_answer(s, s->q[1], at, items);
        return (a < b ? a : b) - alpha * s->log_pi[cell];
    }
    for (d = 0; d < s->actions; d++) {
        size_t q = ((size_t)at * (size_t)s->actions + (size_t)d) * (size_t)space->choices;
        size_t p = ((size_t)cell * (size_t)s->actions + (size_t)d) * (size_t)space->choices;
        if (!rllb_i_decides(space, d, items)) continue;
        for (c = 0; c < space->choices; c++, p++, q++) {
            float least = s->q[0][q] < s->q[1][q] ? s->q[0][q] : s->q[1][q];
            sum += s->p[p] * (least - alpha * s->log_p[p]);
        }
    }
    return sum / (float)rllb_i_decisions(space, items);
}

/* Both critics' values of what follows, then the soft values; then r + gamma V of every step. */
static void rllb_i_sac_targets(rllb_nn_sac *s)
{
    const rllb_nn_sequences *b = &s->batch;
    int32_t row = rllb_i_sac_row(s), agents = s->desc.agents, steps = b->steps, cells = steps * row, i, counted = 0;
    int32_t skip = s->recurrent ? 0 : row; /* recurrent: the first step is run too */
    const float *x = rllb_i_sac_ask(s, s->drawn, cells + row);
    rllb_nn_pass pass = rllb_i_sac_pass(s, x + (size_t)skip * (size_t)s->asked_width, s->recurrent ? steps + 1 : steps);
    double mean = 0, square = 0, deviation;
    float alpha = rllb_nn_sac_alpha(s), scale = s->desc.reward_scale;

    for (i = 0; i < 2; i++) rllb_nn_pass_forward(s->target[i], s->critic_other, &pass, s->q[i]);
    for (i = 0; i < cells; i++) {
        if (!b->filled[i / agents]) continue;
        counted++;
        mean += (double)b->reward[i];
        square += (double)b->reward[i] * (double)b->reward[i];
    }
    mean = counted ? mean / counted : 0;
    deviation = counted ? square / counted - mean * mean : 0;
    deviation = deviation > 0 ? sqrt(deviation) : 0;
    for (i = 0; i < cells; i++) {
        float reward = b->reward[i];
        if (s->desc.normalise_rewards) reward = (float)(((double)reward - mean) / (deviation + 1e-6));
        s->value[i] = rllb_i_sac_soft_value(s, i + row - skip, i + row, alpha);
        s->wanted[i] = scale * reward + (b->terminated[i / agents] ? 0 : s->desc.gamma * s->value[i]);
    }
}

/* Does this cell count in the losses? */
static bool rllb_i_sac_counts(const rllb_nn_sac *s, int32_t cell)
{
    int32_t burn = s->recurrent ? s->desc.burn : 0;
    return s->batch.filled[cell / s->desc.agents] && cell / rllb_i_sac_row(s) >= burn;
}

/* Mean squared error of one critic over the cells that count, and its gradient. */
static float rllb_i_sac_critic_loss(rllb_nn_sac *s, const float *q, float share, double *mean)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t row = rllb_i_sac_row(s), cells = s->batch.steps * row, i, d, n;
    double loss = 0;

    memset(s->dq, 0, (size_t)cells * (size_t)s->asked_out * sizeof(float));
    for (i = 0; i < cells; i++) {
        int32_t items = rllb_i_items_of(space, s->batch.items[i % row / s->desc.agents]);
        float *dq = s->dq + (size_t)i * (size_t)s->asked_out, error, part;
        if (!rllb_i_sac_counts(s, i)) continue;
        if (s->asked) {
            error = rllb_i_sac_answer(s, q, i, items) - s->wanted[i];
            n = rllb_i_is_set(space) ? items : 1;
            for (d = 0; d < n; d++) dq[d] = 2 * share * error / (float)n;
            loss += (double)(share * error * error);
            *mean += (double)(share * (error + s->wanted[i]));
            continue;
        }
        part = share / (float)rllb_i_decisions(space, items);
        for (d = 0; d < s->actions; d++) {
            size_t at = (size_t)i * (size_t)s->actions + (size_t)d;
            int32_t taken = d * space->choices + rllb_i_choice(space, s->batch.action[at]);
            if (!rllb_i_decides(space, d, items)) continue;
            error = q[(size_t)i * (size_t)s->asked_out + (size_t)taken] - s->wanted[i];
            dq[taken] = 2 * part * error;
            loss += (double)(part * error * error);
            *mean += (double)(part * (error + s->wanted[i]));
        }
    }
    return (float)loss;
}

static rllb_status rllb_i_sac_learn_critics(rllb_nn_sac *s, float share, rllb_nn_sac_report *report)
{
    int32_t steps = s->batch.steps, i;
    const float *x = rllb_i_sac_ask(s, NULL, steps * rllb_i_sac_row(s));
    rllb_nn_pass pass = rllb_i_sac_pass(s, x, steps);
    double mean = 0;

    for (i = 0; i < 2; i++) {
        rllb_nn_pass_forward(s->critic[i], s->critic_work[i], &pass, s->q[i]);
        report->critic_loss += rllb_i_sac_critic_loss(s, s->q[i], share, &mean);
        rllb_nn_pass_backward(s->critic[i], s->critic_work[i], &pass, s->dq,
                              s->critic_gradient + (size_t)i * s->critic_floats, NULL);
    }
    report->mean_value = (float)(mean / 2);
    if (!rllb_i_all_finite(&report->critic_loss, 1)) return RLLB_ERROR_NOT_FINITE;
    return rllb_nn_opt_step(s->critic_opt, s->critics, s->critic_gradient, NULL);
}

/* Exact and discrete: the gradient of sum_a pi(a) (alpha ln pi(a) - Q(a)) by the logits, for each head. */
static void rllb_i_sac_exact(rllb_nn_sac *s, float share, float alpha, double *loss, double *entropy)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t row = rllb_i_sac_row(s), cells = s->batch.steps * row, i, d, c, choices = space->choices;

    for (i = 0; i < cells; i++) {
        int32_t items = rllb_i_items_of(space, s->batch.items[i % row / s->desc.agents]);
        float part = share / (float)rllb_i_decisions(space, items);
        if (!rllb_i_sac_counts(s, i)) continue;
        for (d = 0; d < s->actions; d++) {
            size_t at = ((size_t)i * (size_t)s->actions + (size_t)d) * (size_t)choices;
            const float *p = s->p + at, *log_p = s->log_p + at, *a = s->q[0] + at, *b = s->q[1] + at;
            float mean = 0, spread = 0;
            if (!rllb_i_decides(space, d, items)) continue;
            for (c = 0; c < choices; c++) {
                mean += p[c] * (alpha * log_p[c] - (a[c] < b[c] ? a[c] : b[c]));
                spread -= p[c] * log_p[c];
            }
            for (c = 0; c < choices; c++) {
                s->dy[at + (size_t)c] = part * p[c] * (alpha * log_p[c] - (a[c] < b[c] ? a[c] : b[c]) - mean);
            }
            *loss += (double)(part * mean);
            *entropy += (double)(part * spread);
        }
    }
}

/* For critics that are asked: gradients of alpha ln pi(a) - Q(a) by the actor's outputs, through the action drawn where
   it is continuous, and not at all through it in the released discrete form. s->dx holds those of -Q by the inputs. */
static void rllb_i_sac_through(rllb_nn_sac *s, float share, float alpha, double *loss, double *entropy)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t row = rllb_i_sac_row(s), agents = s->desc.agents, cells = s->batch.steps * row, i, d, c;

    for (i = 0; i < cells; i++) {
        int32_t items = rllb_i_items_of(space, s->batch.items[i % row / agents]);
        float part = share * alpha / (float)rllb_i_decisions(space, items), q, other;
        if (!rllb_i_sac_counts(s, i)) continue;
        q = rllb_i_sac_answer(s, s->q[0], i, items);
        other = rllb_i_sac_answer(s, s->q[1], i, items);
        *loss += (double)(share * (alpha * s->log_pi[i] - (q < other ? q : other)));
        *entropy -= (double)(share * s->log_pi[i]);
        for (d = 0; d < s->actions; d++) {
            size_t at = (size_t)i * (size_t)s->actions + (size_t)d, out = at * (size_t)s->per;
            float a = s->drawn[at], by_u, deviation;
            if (!rllb_i_decides(space, d, items)) continue;
            if (space->choices) {
                for (c = 0; c < space->choices; c++) {
                    s->dy[out + (size_t)c] = part * ((c == (int32_t)a ? 1.0f : 0.0f) - s->p[out + (size_t)c]);
                }
                continue;
            }
            by_u = s->dx[(size_t)i * (size_t)s->asked_width + (size_t)rllb_i_asked_at(space, agents, d)] * (1 - a * a);
            by_u += part * 2 * a;
            s->dy[out] = by_u;
            deviation = s->y[out + 1] < -20 || s->y[out + 1] > 2 ? 0 : expf(s->y[out + 1]);
            if (deviation > 0) s->dy[out + 1] = by_u * deviation * s->noise[at] - part;
        }
    }
}

/* Gradients of -Q by the actions drawn: through each critic in the cells where it answers less than the other. */
static void rllb_i_sac_by_action(rllb_nn_sac *s, const rllb_nn_pass *pass, float share)
{
    const rllb_nn_space *space = &s->desc.space;
    int32_t row = rllb_i_sac_row(s), cells = s->batch.steps * row, which, i, d, n;
    size_t floats = (size_t)cells * (size_t)s->asked_width, f;

    for (which = 0; which < 2; which++) {
        float *dx = which ? s->ask : s->dx; /* the inputs are not needed any more */
        memset(s->dq, 0, (size_t)cells * (size_t)s->asked_out * sizeof(float));
        for (i = 0; i < cells; i++) {
            int32_t items = rllb_i_items_of(space, s->batch.items[i % row / s->desc.agents]);
            bool second = rllb_i_sac_answer(s, s->q[1], i, items) < rllb_i_sac_answer(s, s->q[0], i, items);
            n = rllb_i_is_set(space) ? items : 1;
            if (!rllb_i_sac_counts(s, i) || second != (which == 1)) continue;
            for (d = 0; d < n; d++) s->dq[(size_t)i * (size_t)s->asked_out + (size_t)d] = -share / (float)n;
        }
        rllb_nn_pass_backward(s->critic[which], s->critic_work[which], pass, s->dq, s->ignored, dx);
    }
    for (f = 0; f < floats; f++) s->dx[f] += s->ask[f];
}

static rllb_status rllb_i_sac_learn_actor(rllb_nn_sac *s, float share, rllb_nn_sac_report *report)
{
    int32_t row = rllb_i_sac_row(s), steps = s->batch.steps, cells = steps * row, i;
    int32_t run = s->recurrent ? steps + 1 : steps;
    const float *x = rllb_i_sac_ask(s, s->drawn, cells);
    rllb_nn_pass pass = rllb_i_sac_pass(s, x, steps);
    bool through = s->asked && !s->desc.space.choices;
    double loss = 0, entropy = 0;
    rllb_status status;

    for (i = 0; i < 2; i++) {
        rllb_nn_pass_forward(s->critic[i], through ? s->critic_work[i] : s->critic_other, &pass, s->q[i]);
    }
    if (through) rllb_i_sac_by_action(s, &pass, share);
    memset(s->dy, 0, (size_t)(run * row) * (size_t)s->out * sizeof(float));
    if (s->asked) rllb_i_sac_through(s, share, report->alpha, &loss, &entropy);
    else rllb_i_sac_exact(s, share, report->alpha, &loss, &entropy);
    report->actor_loss = (float)loss;
    report->entropy = (float)entropy;
    pass = rllb_i_sac_pass(s, NULL, run);
    rllb_nn_pass_backward(s->actor, s->actor_work, &pass, s->dy, s->actor_gradient, NULL);
    if (!rllb_i_all_finite(&report->actor_loss, 1)) return RLLB_ERROR_NOT_FINITE;
    status = rllb_nn_opt_step(s->actor_opt, s->actor->data, s->actor_gradient, NULL);
    if (status != RLLB_OK || s->desc.alpha_fixed) return status;
    s->alpha_gradient[0] = report->entropy - s->desc.entropy * (s->desc.space.choices ?
                           logf((float)s->desc.space.choices) : 1);
    status = rllb_nn_opt_step(s->alpha_opt, s->log_alpha, s->alpha_gradient, NULL);
    if (s->log_alpha[0] > 14) s->log_alpha[0] = 14;
    if (s->log_alpha[0] < -20) s->log_alpha[0] = -20;
    return status;
}

/* One step on the batch that lies in s->batch. */
static rllb_status rllb_i_sac_learn(rllb_nn_sac *s, rllb_nn_sac_report *report)
{
    int32_t row = rllb_i_sac_row(s), steps = s->batch.steps, cells = steps * row, i, counted = 0;
    rllb_status status;

    for (i = 0; i < cells; i++) counted += rllb_i_sac_counts(s, i);
    if (!counted) return RLLB_OK; /* every sequence ends while its state warms up */
    report->alpha = rllb_nn_sac_alpha(s);
    rllb_i_sac_inputs(s);
    rllb_i_sac_actor(s, s->actor_work, s->x, s->recurrent ? steps + 1 : steps, s->y);
    if (!s->recurrent) { /* what follows step t is step t + 1 of the same rows; what follows the last is run apart */
        rllb_i_sac_actor(s, s->actor_other, s->x + (size_t)cells * (size_t)s->width, 1,
                         s->y + (size_t)cells * (size_t)s->out);
    }
    rllb_i_sac_decide(s, 0, cells + row);
    rllb_i_sac_targets(s);
    status = rllb_i_sac_learn_critics(s, 1 / (float)counted, report);
    if (status == RLLB_OK) status = rllb_i_sac_learn_actor(s, 1 / (float)counted, report);
    if (status != RLLB_OK) return status;
    rllb_i_tick(&s->counter[RLLB_I_SAC_UPDATES]);
    s->actor->k->blend(s->targets, s->critics, 2 * s->critic_floats, s->desc.tau);
    return RLLB_OK;
}

rllb_status rllb_nn_sac_update(rllb_nn_sac *s, rllb_nn_sac_report *report)
{
    rllb_nn_sac_report unseen;
    rllb_status status;

    if (!report) report = &unseen;
    memset(report, 0, sizeof *report);
    if (rllb_nn_episodes_steps(s->replay) < s->desc.learn_start) return RLLB_ERROR_EMPTY;
    rllb_i_rng_wake(&s->rng);
    status = rllb_nn_episodes_sample(s->replay, s->desc.batch, s->desc.window, &s->batch);
    return status == RLLB_OK ? rllb_i_sac_learn(s, report) : status;
}

int64_t rllb_nn_sac_updates(const rllb_nn_sac *s)
{
    return s->counter[RLLB_I_SAC_UPDATES];
}

rllb_nn_net *rllb_nn_sac_actor(rllb_nn_sac *s)
{
    return s->actor;
}

rllb_nn_net *rllb_nn_sac_critic(rllb_nn_sac *s, int32_t which)
{
    return which < 0 || which > 3 ? NULL : which < 2 ? s->critic[which] : s->target[which - 2];
}

rllb_nn_episodes *rllb_nn_sac_replay(rllb_nn_sac *s)
{
    return s->replay;
}

/* ---- >>search ----------------------------------------------------------------------------------------------------
   Evolution strategies. Owns the mean, the optimiser, one row of noise and the ranks. Noise is not kept: a pair's comes
   from a stream of its own, and is drawn anew when it is needed. */

struct rllb_nn_search {
    rllb_nn_search_desc desc; /* resolved */
    rllb_nn_net *net;
    rllb_nn_opt *opt;
    float *noise, *gradient; /* [floats] */
    unsigned char *real;     /* [floats] a parameter that is searched for, not padding */
    double *utility;         /* [2 * pairs] */
    int64_t generation[1];   /* an array, so that it can be saved like one */
    void *block;
};

static bool rllb_i_search_plan(const rllb_nn_search_desc *desc, rllb_nn_search *s, rllb_nn_net *net, rllb_nn_opt *opt)
{
    rllb_nn_search_desc *d = &s->desc;

    memset(s, 0, sizeof *s);
    if (!desc) return false;
    *d = *desc;
    if (d->pairs == 0) d->pairs = 16;
    if (d->sigma == 0) d->sigma = 0.05f;
    if (d->opt.lr.from == 0) d->opt.lr.from = 0.01;
    d->opt.isa = d->net.isa;
    d->opt.portable = d->net.portable;
    if (d->pairs < 1 || d->pairs > 1 << 16 || !(d->sigma > 0 && d->sigma < 1e6f)) return false;
    return rllb_i_net_plan(&d->net, net) && rllb_i_opt_plan(&d->opt, net->floats, opt);
}

static rllb_nn_search *rllb_i_search_layout(const rllb_nn_search *plan, const rllb_nn_net *net, const rllb_nn_opt *opt,
                                            rllb_carver *c)
{
    rllb_nn_search s = *plan, *search = (rllb_nn_search *)rllb_carve(c, 1, sizeof *search);
    size_t count = 2 * (size_t)s.desc.pairs;

    s.net = rllb_i_net_layout(net, c);
    s.opt = rllb_i_opt_layout(opt, c);
    s.noise = (float *)rllb_carve(c, net->floats, sizeof(float));
    s.gradient = (float *)rllb_carve(c, net->floats, sizeof(float));
    s.real = (unsigned char *)rllb_carve(c, net->floats, 1);
    s.utility = (double *)rllb_carve(c, count, sizeof(double));
    if (search) *search = s;
    return search;
}

void rllb_nn_search_desc_default(rllb_nn_search_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_nn_search_size(const rllb_nn_search_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_search plan;
    rllb_nn_net net;
    rllb_nn_opt opt;

    if (!rllb_i_search_plan(desc, &plan, &net, &opt)) return 0;
    rllb_i_search_layout(&plan, &net, &opt, &c);
    return rllb_carver_size(&c);
}

/* Marks the parameters among panels of so many rows: `groups` of `cols` columns, each padded by itself. */
static void rllb_i_mark(unsigned char *real, int32_t rows, int32_t cols, int32_t groups)
{
    int32_t g, o, i, padded = rllb_i_padded(cols);

    for (g = 0; g < groups; g++) {
        for (o = 0; o < cols; o++) {
            size_t col = (size_t)g * (size_t)padded + (size_t)o;
            unsigned char *at = real + col / RLLB_NN_PANEL * (size_t)rows * RLLB_NN_PANEL + col % RLLB_NN_PANEL;
            for (i = 0; i < rows; i++) at[(size_t)i * RLLB_NN_PANEL] = 1;
        }
    }
}

static void rllb_i_search_mark(rllb_nn_search *s)
{
    const char *only = s->desc.only;
    const rllb_nn_net *net = s->net;
    int32_t n, o, i;

    for (n = 0; n < net->layers; n++) {
        const rllb_i_layer *l = &net->layer[n];
        if (l->kind == RLLB_I_LAYER_POOL || (only && strncmp(l->name, only, strlen(only)) != 0)) continue;
        if (l->kind == RLLB_I_LAYER_GRU) {
            rllb_i_mark(s->real + l->weight, l->in, l->out, 3);
            rllb_i_mark(s->real + l->state_weight, l->out, l->out, 3);
            rllb_i_mark(s->real + l->bias, 1, l->out, 3);
            rllb_i_mark(s->real + l->state_bias, 1, l->out, 3);
            continue;
        }
        for (o = 0; o < l->out; o++) {
            for (i = 0; i < l->in; i++) s->real[rllb_i_weight(s->net, l, o, i) - net->data] = 1;
        }
        if (l->context < 0) memset(s->real + l->bias, 1, (size_t)l->out);
        if (l->norm) memset(s->real + l->gain, 1, (size_t)l->out);
        if (l->norm) memset(s->real + l->shift, 1, (size_t)l->out);
    }
}

rllb_status rllb_nn_search_init(const rllb_nn_search_desc *desc, void *mem, size_t size, rllb_nn_search **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_search plan, *s;
    rllb_nn_net net;
    rllb_nn_opt opt;
    rllb_status status;

    if (!out || !rllb_i_search_plan(desc, &plan, &net, &opt)) return RLLB_ERROR_ARGUMENT;
    net.k = rllb_nn_kernels_query(plan.desc.net.isa, plan.desc.net.portable);
    opt.k = rllb_nn_kernels_query(plan.desc.opt.isa, plan.desc.opt.portable);
    if (!net.k || !opt.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_search_size(desc));
    if (status != RLLB_OK) return status;
    s = rllb_i_search_layout(&plan, &net, &opt, &c);
    rllb_nn_net_reset(s->net, s->desc.net.seed, s->desc.net.stream);
    rllb_i_search_mark(s);
    s->desc.only = NULL;
    *out = s;
    return RLLB_OK;
}

rllb_nn_search *rllb_nn_search_create(const rllb_nn_search_desc *desc)
{
    size_t size = rllb_nn_search_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_search *s = NULL;

    if (block && rllb_nn_search_init(desc, block, size, &s) == RLLB_OK) {
        s->block = block;
        return s;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_search_destroy(rllb_nn_search *s)
{
    if (s) rllb_block_free(s->block);
}

void rllb_nn_search_query(const rllb_nn_search *s, rllb_nn_search_desc *out)
{
    *out = s->desc;
    rllb_nn_net_query(s->net, &out->net);
}

rllb_nn_net *rllb_nn_search_net(rllb_nn_search *s)
{
    return s->net;
}

/* The noise of a pair of this generation: the same whenever it is asked for. */
static void rllb_i_search_noise(rllb_nn_search *s, int32_t pair)
{
    uint64_t stream = (uint64_t)s->generation[0] * (uint64_t)s->desc.pairs + (uint64_t)pair;
    rllb_rng rng;
    size_t i;

    rllb_rng_init(&rng, s->desc.seed, stream);
    for (i = 0; i < s->net->floats; i++) s->noise[i] = s->real[i] ? (float)rllb_rng_normal(&rng) : 0;
}

rllb_status rllb_nn_search_candidate(rllb_nn_search *s, int32_t which, rllb_nn_net *to)
{
    float sigma;
    rllb_status status;
    size_t i;

    if (which < 0 || which >= 2 * s->desc.pairs) return RLLB_ERROR_ARGUMENT;
    status = rllb_nn_net_copy(to, s->net);
    if (status != RLLB_OK) return status;
    rllb_i_search_noise(s, which / 2);
    sigma = which % 2 ? -s->desc.sigma : s->desc.sigma;
    for (i = 0; i < s->net->floats; i++) to->data[i] += sigma * s->noise[i];
    return RLLB_OK;
}

/* Centred ranks, -0.5 ... 0.5; equal returns share theirs. How many were finite. */
static int32_t rllb_i_search_rank(rllb_nn_search *s, const double *returns, rllb_nn_search_report *report)
{
    int32_t n = 2 * s->desc.pairs, i, j, finite = 0;
    double sum = 0, best = -HUGE_VAL;

    for (i = 0; i < n; i++) {
        double below = 0, v = returns[i] - returns[i] == 0 ? returns[i] : -HUGE_VAL;
        for (j = 0; j < n; j++) {
            double w = returns[j] - returns[j] == 0 ? returns[j] : -HUGE_VAL;
            below += i == j ? 0 : w < v ? 1 : w > v ? 0 : 0.5;
        }
        s->utility[i] = below / (n - 1) - 0.5;
        if (!(v > -HUGE_VAL)) continue;
        finite++;
        sum += v;
        if (v > best) best = v;
    }
    report->mean = finite ? sum / finite : (double)NAN;
    report->best = finite ? best : (double)NAN;
    report->lost = n - finite;
    return finite;
}

rllb_status rllb_nn_search_update(rllb_nn_search *s, const double *returns, rllb_nn_search_report *report)
{
    rllb_nn_search_report said = { 0, 0, 0, 0 };
    rllb_status status;
    int32_t pair;
    size_t i, floats = s->net->floats;

    if (report) *report = said;
    if (!returns) return RLLB_ERROR_ARGUMENT;
    if (!rllb_i_search_rank(s, returns, &said)) return RLLB_ERROR_EMPTY;
    memset(s->gradient, 0, floats * sizeof(float));
    for (pair = 0; pair < s->desc.pairs; pair++) { /* Adam is indifferent to the factor; 2 pairs sigma makes it one */
        double weight = (s->utility[2 * pair + 1] - s->utility[2 * pair]) / (2 * s->desc.pairs * (double)s->desc.sigma);
        rllb_i_search_noise(s, pair);
        for (i = 0; i < floats; i++) s->gradient[i] += (float)weight * s->noise[i];
    }
    status = rllb_nn_opt_step(s->opt, s->net->data, s->gradient, &said.gradient_norm);
    if (report) *report = said;
    if (status == RLLB_OK) rllb_i_tick(s->generation);
    return status;
}

int64_t rllb_nn_search_generations(const rllb_nn_search *s)
{
    return s->generation[0];
}

/* ---- >>policies --------------------------------------------------------------------------------------------------
   One agent that serves: its network, what it carries from step to step, and what its decisions mean. */

enum { RLLB_I_SAVED_SPACE = 11, RLLB_I_POLICY_VERSION = 1 };

struct rllb_nn_policy {
    rllb_nn_policy_desc desc; /* resolved */
    rllb_nn_net *net;
    rllb_nn_work *work;
    rllb_i_carry carry;
    float *obs, *panels, *action; /* [observations], scratch for softmax, [actions] */
    int32_t saved[RLLB_I_SAVED_SPACE];
    rllb_rng rng;
    void *block;
};

void rllb_nn_values_linear(float low, float high, int32_t count, float *values)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        double at = count > 1 ? (double)i / (double)(count - 1) : 0;
        values[i] = (float)((double)low + ((double)high - (double)low) * at);
    }
}

void rllb_nn_values_log(float low, float high, int32_t count, float *values)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        double at = count > 1 ? (double)i / (double)(count - 1) : 0;
        values[i] = (float)((double)low * pow((double)high / (double)low, at));
    }
}

/* Even steps in the logarithm are between positive numbers. */
static bool rllb_i_range_ok(const rllb_nn_policy_desc *d, const float *range)
{
    return !d->logarithmic || d->space.choices || (range[0] > 0 && range[1] > 0);
}

static bool rllb_i_policy_plan(const rllb_nn_policy_desc *desc, rllb_nn_policy *p, rllb_nn_net *net)
{
    rllb_nn_policy_desc *d = &p->desc;
    rllb_nn_space *s = &d->space;
    int32_t i;

    memset(p, 0, sizeof *p);
    if (!desc) return false;
    *d = *desc;
    if (d->agents == 0) d->agents = 1;
    if (!rllb_i_space_resolve(s) || d->agents < 1 || d->agent < 0 || d->agent >= d->agents) return false;
    if (!rllb_i_all_finite(d->values, RLLB_NN_CHOICES_MAX)) return false;
    for (i = 0; i < RLLB_NN_COMMON_MAX; i++) {
        if (!rllb_i_all_finite(d->common[i], RLLB_NN_CHOICES_MAX)) return false;
        if (!rllb_i_range_ok(d, d->common[i]) && i < s->common) return false;
    }
    if (!rllb_i_range_ok(d, d->values)) return false;
    rllb_i_space_net(s, d->agents, s->choices ? s->choices : 2, false, &d->net);
    return rllb_i_net_plan(&d->net, net) && rllb_i_batch_ok(1, 1, s, net);
}

static rllb_nn_policy *rllb_i_policy_net_layout(const rllb_nn_policy *plan, const rllb_nn_net *net, rllb_carver *c)
{
    const rllb_nn_space *s = &plan->desc.space;
    rllb_nn_policy p = *plan, *policy = (rllb_nn_policy *)rllb_carve(c, 1, sizeof *policy);
    int32_t actions = rllb_nn_space_actions(s);

    p.net = rllb_i_net_layout(net, c);
    p.work = rllb_i_work_layout(net, 1, 1, s->items ? s->items : 1, false, c);
    rllb_i_carry_layout(s, net, 1, &p.carry, c);
    p.obs = (float *)rllb_carve(c, (size_t)rllb_nn_space_observations(s), sizeof(float));
    p.panels = (float *)rllb_carve(c, s->choices ? rllb_nn_tensor_floats(actions, s->choices) : 0, sizeof(float));
    p.action = (float *)rllb_carve(c, (size_t)actions, sizeof(float));
    if (policy) *policy = p;
    return policy;
}

void rllb_nn_policy_desc_default(rllb_nn_policy_desc *desc)
{
    memset(desc, 0, sizeof *desc);
}

size_t rllb_nn_policy_size(const rllb_nn_policy_desc *desc)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_policy plan;
    rllb_nn_net net;

    if (!rllb_i_policy_plan(desc, &plan, &net)) return 0;
    rllb_i_policy_net_layout(&plan, &net, &c);
    return rllb_carver_size(&c);
}

rllb_status rllb_nn_policy_init(const rllb_nn_policy_desc *desc, void *mem, size_t size, rllb_nn_policy **out)
{
    rllb_carver c = { NULL, 0 };
    rllb_nn_policy plan, *p;
    rllb_nn_net net;
    rllb_status status;

    if (!out || !rllb_i_policy_plan(desc, &plan, &net)) return RLLB_ERROR_ARGUMENT;
    net.k = rllb_nn_kernels_query(plan.desc.net.isa, plan.desc.net.portable);
    if (!net.k) return RLLB_ERROR_ISA;
    status = rllb_carver_open(&c, mem, size, rllb_nn_policy_size(desc));
    if (status != RLLB_OK) return status;
    p = rllb_i_policy_net_layout(&plan, &net, &c);
    rllb_rng_init(&p->rng, p->desc.seed, 4);
    rllb_nn_net_reset(p->net, p->desc.net.seed, p->desc.net.stream);
    rllb_i_carry_begin(&p->carry);
    *out = p;
    return RLLB_OK;
}

rllb_nn_policy *rllb_nn_policy_create(const rllb_nn_policy_desc *desc)
{
    size_t size = rllb_nn_policy_size(desc);
    void *block = rllb_block_alloc(size);
    rllb_nn_policy *p = NULL;

    if (block && rllb_nn_policy_init(desc, block, size, &p) == RLLB_OK) {
        p->block = block;
        return p;
    }
    rllb_block_free(block);
    return NULL;
}

void rllb_nn_policy_destroy(rllb_nn_policy *p)
{
    if (p) rllb_block_free(p->block);
}

void rllb_nn_policy_query(const rllb_nn_policy *p, rllb_nn_policy_desc *out)
{
    *out = p->desc;
    rllb_nn_net_query(p->net, &out->net);
}

rllb_nn_net *rllb_nn_policy_net(rllb_nn_policy *p)
{
    return p->net;
}

void rllb_nn_policy_begin(rllb_nn_policy *p)
{
    rllb_i_carry_begin(&p->carry);
}

/* What a decision means. */
static float rllb_i_meaning(const rllb_nn_policy_desc *d, const float *values, float decision)
{
    float part = 0.5f * (decision + 1);

    if (d->space.choices) return values[rllb_i_choice(&d->space, decision)];
    if (d->logarithmic) return values[0] * powf(values[1] / values[0], part);
    return values[0] + (values[1] - values[0]) * part;
}

/* Decisions from the network's outputs, into the policy's action. */
static void rllb_i_policy_decide(rllb_nn_policy *p, int32_t items)
{
    const rllb_nn_space *s = &p->desc.space;
    int32_t n = p->carry.actions, per = s->choices ? s->choices : 2, d;
    float *y = p->carry.y, unused;

    if (s->choices && p->desc.sampled) rllb_i_softmax_rows(p->net->k, y, n, per, p->panels, y, NULL);
    for (d = 0; d < n; d++, y += per) {
        float a = 0;
        if (!rllb_i_decides(s, d, items)) a = 0;
        else if (s->choices && p->desc.sampled) a = (float)rllb_i_draw_choice(&p->rng, y, per);
        else if (s->choices) a = (float)rllb_i_argmax(y, NULL, per);
        else if (p->desc.sampled) a = rllb_i_gaussian(y, (float)rllb_rng_normal(&p->rng), &unused);
        else a = tanhf(y[0]);
        p->action[d] = a;
    }
}

/* For how many items such an observation is. */
static int32_t rllb_i_policy_items(const rllb_nn_policy *p, int32_t observations)
{
    const rllb_nn_space *s = &p->desc.space;
    return rllb_i_is_set(s) ? (observations - s->observations) / s->item_observations : s->heads;
}

rllb_status rllb_nn_policy_check(const rllb_nn_policy *p, int32_t observations, int32_t actions)
{
    const rllb_nn_space *s = &p->desc.space;
    int32_t items = rllb_i_policy_items(p, observations);
    bool set = rllb_i_is_set(s), ok = !set || (items >= 1 && items <= s->items);

    ok = ok && observations == s->observations + (set ? items * s->item_observations : 0);
    return ok && (actions == items || actions == items + s->common) ? RLLB_OK : RLLB_ERROR_SHAPE;
}

void rllb_nn_policy_control(void *self, const float *observation, int32_t observations, float *action,
                            int32_t actions)
{
    rllb_nn_policy *p = (rllb_nn_policy *)self;
    const rllb_nn_space *s;
    int32_t items, common, i;

    if (!p || !observation || !action || rllb_nn_policy_check(p, observations, actions) != RLLB_OK) return;
    if (!rllb_i_all_finite(observation, observations)) return;
    s = &p->desc.space;
    items = rllb_i_policy_items(p, observations);
    common = actions - items;
    memset(p->obs, 0, (size_t)rllb_nn_space_observations(s) * sizeof(float));
    memcpy(p->obs, observation, (size_t)observations * sizeof(float));
    p->carry.counts[0] = items;
    rllb_i_put_input(s, p->desc.agents, p->desc.agent, p->obs, p->carry.last, NULL, p->carry.x);
    rllb_i_carry_forward(s, &p->carry, p->net, p->work, 0, 1);
    if (!rllb_i_all_finite(p->carry.y, p->carry.out)) { /* whatever it was, it shall not last */
        rllb_i_carry_begin(&p->carry);
        return;
    }
    rllb_i_policy_decide(p, items);
    memcpy(p->carry.last, p->action, (size_t)p->carry.actions * sizeof(float));
    for (i = 0; i < items; i++) action[i] = rllb_i_meaning(&p->desc, p->desc.values, p->action[i]);
    for (i = 0; i < common; i++) {
        action[items + i] = rllb_i_meaning(&p->desc, p->desc.common[i], p->action[s->items + i]);
    }
}

/* ---- >>files -----------------------------------------------------------------------------------------------------
   safetensors. The writer runs once to count and once to write; the reader trusts nothing: every step is checked
   against the end of the header, every offset against the data and against the others. */

static const char *const rllb_i_dtype_names[] = { "F32", "F64", "I32", "I64", "U64", "U8" };
static const unsigned char rllb_i_dtype_bytes[] = { 4, 8, 4, 8, 8, 1 };

enum { RLLB_I_FILE_TENSORS_MAX = 1024 };

void rllb_nn_archive_add(rllb_nn_archive *a, const char *name, rllb_nn_dtype dtype, int64_t rows, int64_t cols,
                         void *data)
{
    size_t n = strlen(name);
    rllb_nn_entry *e;

    if (a->count >= a->capacity || n >= RLLB_NN_NAME_MAX) {
        a->overflow++;
        return;
    }
    e = &a->entries[a->count++];
    memset(e, 0, sizeof *e);
    memcpy(e->name, name, n);
    e->dtype = dtype;
    e->dims = cols > 0 ? 2 : 1;
    e->shape[0] = rows;
    e->shape[1] = cols > 0 ? cols : 1;
    e->data = data;
}

/* prefix + middle + suffix into a name; too long a name becomes one that archive_add refuses. */
static const char *rllb_i_name(char *out, const char *prefix, const char *middle, const char *suffix)
{
    const char *part[3];
    size_t used = 0, i, n;

    part[0] = prefix;
    part[1] = middle;
    part[2] = suffix;
    memset(out, 'x', RLLB_NN_NAME_MAX);
    out[RLLB_NN_NAME_MAX] = 0;
    for (i = 0; i < 3; i++) {
        n = strlen(part[i]);
        if (n >= RLLB_NN_NAME_MAX - used) return out;
        memcpy(out + used, part[i], n);
        used += n;
    }
    out[used] = 0;
    return out;
}

/* One array of a layer, [rows][cols] in the file; cols 0: a plain one. */
static void rllb_i_layer_entry(rllb_nn_archive *a, const char *prefix, const char *layer, const char *what,
                               int32_t rows, int32_t cols, float *data, bool transposed, int32_t group)
{
    char name[RLLB_NN_NAME_MAX + 1];
    int32_t before = a->count;

    rllb_nn_archive_add(a, rllb_i_name(name, prefix, layer, what), RLLB_NN_F32, rows, cols, data);
    if (a->count == before || (!cols && !group)) return;
    a->entries[before].panels = true;
    a->entries[before].transposed = transposed;
    a->entries[before].group = group;
}

/* The arrays of `data`, which has the layout of the network's parameters. */
static void rllb_i_parameter_entries(const rllb_nn_net *net, float *data, const char *prefix, rllb_nn_archive *a)
{
    int32_t n;

    for (n = 0; n < net->layers; n++) {
        const rllb_i_layer *l = &net->layer[n];
        if (l->kind == RLLB_I_LAYER_GRU) {
            int32_t out = l->out;
            rllb_i_layer_entry(a, prefix, l->name, ".weight_ih", 3 * out, l->in, data + l->weight, true, out);
            rllb_i_layer_entry(a, prefix, l->name, ".weight_hh", 3 * out, out, data + l->state_weight, true, out);
            rllb_i_layer_entry(a, prefix, l->name, ".bias_ih", 3 * out, 0, data + l->bias, true, out);
            rllb_i_layer_entry(a, prefix, l->name, ".bias_hh", 3 * out, 0, data + l->state_bias, true, out);
        }
        if (l->kind != RLLB_I_LAYER_DENSE) continue;
        rllb_i_layer_entry(a, prefix, l->name, ".weight", l->out, l->in, data + l->weight, !l->narrow, 0);
        if (l->context < 0) rllb_i_layer_entry(a, prefix, l->name, ".bias", l->out, 0, data + l->bias, false, 0);
        if (!l->norm) continue;
        rllb_i_layer_entry(a, prefix, l->norm_name, ".weight", l->out, 0, data + l->gain, false, 0);
        rllb_i_layer_entry(a, prefix, l->norm_name, ".bias", l->out, 0, data + l->shift, false, 0);
    }
}

static void rllb_i_normal_entries(const rllb_i_normal *n, const char *prefix, const char *what, rllb_nn_archive *a)
{
    static const char *const part[5] = { ".count", ".mean", ".square", ".shift", ".scale" };
    void *const data[5] = { n->count, n->mean, n->square, n->shift, n->scale };
    char name[RLLB_NN_NAME_MAX + 1];
    int32_t i;

    for (i = 0; n->width && i < 5; i++) {
        rllb_nn_archive_add(a, rllb_i_name(name, prefix, what, part[i]), i < 3 ? RLLB_NN_F64 : RLLB_NN_F32,
                            i ? n->width : 1, 0, data[i]);
    }
}

void rllb_nn_net_entries(rllb_nn_net *net, const char *prefix, rllb_nn_archive *a)
{
    rllb_i_parameter_entries(net, net->data, prefix, a);
    rllb_i_normal_entries(&net->normal, prefix, "normal", a);
    rllb_i_normal_entries(&net->item_normal, prefix, "item_normal", a);
}

void rllb_nn_dqn_entries(rllb_nn_dqn *agent, rllb_nn_archive *a)
{
    rllb_nn_replay *r = agent->replay;
    int64_t capacity = r->desc.capacity, width = r->desc.observations, window = r->desc.n_step;

    rllb_nn_net_entries(agent->net, "", a);
    rllb_nn_net_entries(agent->target, "target.", a);
    rllb_i_parameter_entries(agent->net, agent->opt->m, "optimiser.m.", a);
    rllb_i_parameter_entries(agent->net, agent->opt->v, "optimiser.v.", a);
    rllb_nn_archive_add(a, "optimiser.steps", RLLB_NN_I64, 1, 0, agent->opt->steps);
    rllb_nn_archive_add(a, "agent.counters", RLLB_NN_I64, RLLB_I_DQN_COUNTERS, 0, agent->counter);
    rllb_nn_archive_add(a, "agent.random", RLLB_NN_U64, 4, 0, agent->rng.s);
    rllb_nn_archive_add(a, "replay.counters", RLLB_NN_I64, RLLB_I_REPLAY_COUNTERS, 0, r->counter);
    rllb_nn_archive_add(a, "replay.random", RLLB_NN_U64, 4, 0, r->rng.s);
    rllb_nn_archive_add(a, "replay.observation", RLLB_NN_F32, capacity, width, r->obs);
    rllb_nn_archive_add(a, "replay.next", RLLB_NN_F32, capacity, width, r->next);
    rllb_nn_archive_add(a, "replay.action", RLLB_NN_I32, capacity, 0, r->action);
    rllb_nn_archive_add(a, "replay.reward", RLLB_NN_F32, capacity, 0, r->reward);
    rllb_nn_archive_add(a, "replay.discount", RLLB_NN_F32, capacity, 0, r->discount);
    rllb_nn_archive_add(a, "replay.window.observation", RLLB_NN_F32, window, width, r->window_obs);
    rllb_nn_archive_add(a, "replay.window.action", RLLB_NN_I32, window, 0, r->window_action);
    rllb_nn_archive_add(a, "replay.window.reward", RLLB_NN_F32, window, 0, r->window_reward);
    if (r->mask) rllb_nn_archive_add(a, "replay.mask", RLLB_NN_U8, capacity, r->desc.actions, r->mask);
    if (r->tree) rllb_nn_archive_add(a, "replay.tree", RLLB_NN_F32, 2 * (int64_t)r->leaves, 0, r->tree);
    if (r->tree) rllb_nn_archive_add(a, "replay.priority.most", RLLB_NN_F32, 1, 0, r->most);
}

/* Digits of a number that is not negative, with their final zero. */
static void rllb_i_digits_of(int32_t number, char *out)
{
    char digit[12];
    int32_t n = 0;

    do {
        digit[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (n) *out++ = digit[--n];
    *out = 0;
}

/* Parameters, their targets and the optimiser's moments of one network whose part of each array begins at `at`. */
static void rllb_i_learner_entries(rllb_nn_net *net, float *target, const rllb_nn_opt *opt, size_t at, const char *name,
                                   rllb_nn_archive *a)
{
    static const char *const part[3] = { "target.", "optimiser.m.", "optimiser.v." };
    float *const data[3] = { target, opt->m + at, opt->v + at };
    char prefix[RLLB_NN_NAME_MAX + 1];
    int32_t i;

    rllb_nn_net_entries(net, name, a);
    for (i = 0; i < 3; i++) {
        if (data[i]) rllb_i_parameter_entries(net, data[i], rllb_i_name(prefix, part[i], name, ""), a);
    }
}

void rllb_nn_qmix_entries(rllb_nn_qmix *q, rllb_nn_archive *a)
{
    static const char *const hyper[RLLB_I_HYPERS] = { "mixer.w1.", "mixer.b1.", "mixer.w2.", "mixer.v." };
    char prefix[32] = "agent.";
    int32_t i;

    for (i = 0; i < q->nets; i++) {
        size_t at = (size_t)(q->net[i]->data - q->data), n;
        rllb_i_digits_of(i, prefix + 6);
        n = strlen(prefix);
        prefix[n] = '.';
        prefix[n + 1] = 0;
        rllb_i_learner_entries(q->net[i], q->target[i]->data, q->opt, at, q->nets > 1 ? prefix : "", a);
    }
    for (i = 0; q->hyper[0] && i < RLLB_I_HYPERS; i++) {
        size_t at = (size_t)(q->hyper[i]->data - q->data);
        rllb_i_learner_entries(q->hyper[i], q->hyper_target[i]->data, q->opt, at, hyper[i], a);
    }
    rllb_nn_archive_add(a, "optimiser.steps", RLLB_NN_I64, 1, 0, q->opt->steps);
    rllb_nn_archive_add(a, "agent.counters", RLLB_NN_I64, RLLB_I_QMIX_COUNTERS, 0, q->counter);
    rllb_nn_archive_add(a, "agent.random", RLLB_NN_U64, 4, 0, q->rng.s);
    rllb_i_carry_entries(&q->carry, a);
    rllb_i_episodes_entries(q->replay, a);
}

void rllb_nn_sac_entries(rllb_nn_sac *s, rllb_nn_archive *a)
{
    static const char *const critic[2] = { "critic.0.", "critic.1." };
    int32_t i;

    rllb_i_learner_entries(s->actor, NULL, s->actor_opt, 0, "", a);
    for (i = 0; i < 2; i++) {
        size_t at = (size_t)i * s->critic_floats;
        rllb_i_learner_entries(s->critic[i], s->target[i]->data, s->critic_opt, at, critic[i], a);
    }
    rllb_nn_archive_add(a, "temperature.log", RLLB_NN_F32, RLLB_NN_PANEL, 0, s->log_alpha);
    rllb_nn_archive_add(a, "temperature.m", RLLB_NN_F32, RLLB_NN_PANEL, 0, s->alpha_opt->m);
    rllb_nn_archive_add(a, "temperature.v", RLLB_NN_F32, RLLB_NN_PANEL, 0, s->alpha_opt->v);
    rllb_nn_archive_add(a, "temperature.steps", RLLB_NN_I64, 1, 0, s->alpha_opt->steps);
    rllb_nn_archive_add(a, "actor.steps", RLLB_NN_I64, 1, 0, s->actor_opt->steps);
    rllb_nn_archive_add(a, "critic.steps", RLLB_NN_I64, 1, 0, s->critic_opt->steps);
    rllb_nn_archive_add(a, "agent.counters", RLLB_NN_I64, RLLB_I_SAC_COUNTERS, 0, s->counter);
    rllb_nn_archive_add(a, "agent.random", RLLB_NN_U64, 4, 0, s->rng.s);
    rllb_i_carry_entries(&s->carry, a);
    rllb_i_episodes_entries(s->replay, a);
}

void rllb_nn_search_entries(rllb_nn_search *s, rllb_nn_archive *a)
{
    rllb_i_learner_entries(s->net, NULL, s->opt, 0, "", a);
    rllb_nn_archive_add(a, "optimiser.steps", RLLB_NN_I64, 1, 0, s->opt->steps);
    rllb_nn_archive_add(a, "search.generation", RLLB_NN_I64, 1, 0, s->generation);
}

/* The space as numbers: order and meaning are part of the file's format. */
static void rllb_i_space_numbers(const rllb_nn_policy_desc *d, int32_t number[RLLB_I_SAVED_SPACE])
{
    number[0] = d->space.observations;
    number[1] = d->space.item_observations;
    number[2] = d->space.items;
    number[3] = d->space.heads;
    number[4] = d->space.common;
    number[5] = d->space.choices;
    number[6] = d->space.last_action;
    number[7] = d->space.agent_id;
    number[8] = d->agents;
    number[9] = d->logarithmic;
    number[10] = RLLB_I_POLICY_VERSION;
}

void rllb_nn_policy_entries(rllb_nn_policy *p, rllb_nn_archive *a)
{
    rllb_i_space_numbers(&p->desc, p->saved);
    rllb_nn_net_entries(p->net, "", a);
    rllb_nn_archive_add(a, "policy.space", RLLB_NN_I32, RLLB_I_SAVED_SPACE, 0, p->saved);
    rllb_nn_archive_add(a, "policy.values", RLLB_NN_F32, RLLB_NN_CHOICES_MAX, 0, p->desc.values);
    rllb_nn_archive_add(a, "policy.common", RLLB_NN_F32, RLLB_NN_COMMON_MAX, RLLB_NN_CHOICES_MAX, p->desc.common);
}

/* Writes, or only counts when `to` is NULL. */
typedef struct rllb_i_writer {
    unsigned char *to;
    size_t used;
} rllb_i_writer;

static void rllb_i_put(rllb_i_writer *w, const void *bytes, size_t n)
{
    if (w->to) memcpy(w->to + w->used, bytes, n);
    w->used += n;
}

static void rllb_i_put_text(rllb_i_writer *w, const char *text)
{
    rllb_i_put(w, text, strlen(text));
}

static void rllb_i_put_number(rllb_i_writer *w, uint64_t number)
{
    char digits[20];
    size_t n = sizeof digits;

    do digits[--n] = (char)('0' + number % 10);
    while (number /= 10);
    rllb_i_put(w, digits + n, sizeof digits - n);
}

static void rllb_i_put_string(rllb_i_writer *w, const char *text)
{
    static const char hex[] = "0123456789abcdef";

    rllb_i_put_text(w, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') rllb_i_put_text(w, "\\");
        if (c < 32) {
            rllb_i_put_text(w, "\\u00");
            rllb_i_put(w, hex + c / 16, 1);
            rllb_i_put(w, hex + c % 16, 1);
        } else {
            rllb_i_put(w, text, 1);
        }
    }
    rllb_i_put_text(w, "\"");
}

static size_t rllb_i_entry_bytes(const rllb_nn_entry *e)
{
    return (size_t)e->shape[0] * (size_t)e->shape[1] * rllb_i_dtype_bytes[e->dtype];
}

static void rllb_i_put_header(rllb_i_writer *w, const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas)
{
    uint64_t at = 0;
    int32_t i;

    rllb_i_put_text(w, "{\"__metadata__\":{\"format\":\"rllb\"");
    for (i = 0; i < metas; i++) {
        rllb_i_put_text(w, ",");
        rllb_i_put_string(w, meta[i].key);
        rllb_i_put_text(w, ":");
        rllb_i_put_string(w, meta[i].value);
    }
    rllb_i_put_text(w, "}");
    for (i = 0; i < a->count; i++) {
        const rllb_nn_entry *e = &a->entries[i];
        rllb_i_put_text(w, ",");
        rllb_i_put_string(w, e->name);
        rllb_i_put_text(w, ":{\"dtype\":\"");
        rllb_i_put_text(w, rllb_i_dtype_names[e->dtype]);
        rllb_i_put_text(w, "\",\"shape\":[");
        rllb_i_put_number(w, (uint64_t)e->shape[0]);
        if (e->dims > 1) rllb_i_put_text(w, ",");
        if (e->dims > 1) rllb_i_put_number(w, (uint64_t)e->shape[1]);
        rllb_i_put_text(w, "],\"data_offsets\":[");
        rllb_i_put_number(w, at);
        at += rllb_i_entry_bytes(e);
        rllb_i_put_text(w, ",");
        rllb_i_put_number(w, at);
        rllb_i_put_text(w, "]}");
    }
    rllb_i_put_text(w, "}");
    while (w->used % 8) rllb_i_put_text(w, " ");
}

/* Element (r, c) of an entry in panels: the file is row-major [shape[0]][shape[1]]. */
static float *rllb_i_panel_element(const rllb_nn_entry *e, int64_t r, int64_t c)
{
    int64_t row = e->transposed ? c : r, col = e->transposed ? r : c, rows = e->transposed ? e->shape[1] : e->shape[0];
    if (e->group) col = col / e->group * rllb_i_padded(e->group) + col % e->group;
    return (float *)e->data + (col / RLLB_NN_PANEL) * rows * RLLB_NN_PANEL + row * RLLB_NN_PANEL + col % RLLB_NN_PANEL;
}

static void rllb_i_put_entry(rllb_i_writer *w, const rllb_nn_entry *e)
{
    int64_t r, c;

    if (!e->panels || !w->to) {
        rllb_i_put(w, e->data, rllb_i_entry_bytes(e));
        return;
    }
    for (r = 0; r < e->shape[0]; r++) {
        for (c = 0; c < e->shape[1]; c++) rllb_i_put(w, rllb_i_panel_element(e, r, c), sizeof(float));
    }
}

static size_t rllb_i_archive_write(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas,
                                   unsigned char *to)
{
    rllb_i_writer header = { NULL, 0 }, w = { NULL, 0 };
    uint64_t length;
    int32_t i;

    rllb_i_put_header(&header, a, meta, metas);
    length = header.used;
    w.to = to;
    rllb_i_put(&w, &length, sizeof length);
    rllb_i_put_header(&w, a, meta, metas);
    for (i = 0; i < a->count; i++) rllb_i_put_entry(&w, &a->entries[i]);
    return w.used;
}

size_t rllb_nn_archive_size(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas)
{
    return !a || a->overflow ? 0 : rllb_i_archive_write(a, meta, metas, NULL);
}

rllb_status rllb_nn_archive_save(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas, void *to,
                                 size_t size)
{
    size_t needed = rllb_nn_archive_size(a, meta, metas);

    if (!to || !needed) return a && a->overflow ? RLLB_ERROR_LIMIT : RLLB_ERROR_ARGUMENT;
    if (size < needed) return RLLB_ERROR_MEMORY_SIZE;
    rllb_i_archive_write(a, meta, metas, (unsigned char *)to);
    return RLLB_OK;
}

/* A place in the JSON header. Every reader stops at `end` and answers false when the text is not what it expects. */
typedef struct rllb_i_reader {
    const char *at, *end;
} rllb_i_reader;

static bool rllb_i_expect(rllb_i_reader *r, char c)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
    if (r->at >= r->end || *r->at != c) return false;
    r->at++;
    return true;
}

static bool rllb_i_peek(rllb_i_reader *r, char c)
{
    rllb_i_reader ahead = *r;
    return rllb_i_expect(&ahead, c);
}

/* The four hexadecimal digits of an escape. */
static bool rllb_i_hex4(rllb_i_reader *r, uint32_t *out)
{
    int i;

    *out = 0;
    for (i = 0; i < 4; i++, r->at++) {
        char c = r->at < r->end ? *r->at : ' ';
        if (c >= '0' && c <= '9') *out = *out * 16 + (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f') *out = *out * 16 + (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') *out = *out * 16 + (uint32_t)(c - 'A' + 10);
        else return false;
    }
    return true;
}

/* What follows a backslash, as UTF-8: how many bytes, 0 if it is no escape. */
static int rllb_i_escape(rllb_i_reader *r, char byte[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at++ : 0;
    const char *known = c ? strchr(from, c) : NULL;
    uint32_t code, low;

    if (known) byte[0] = to[known - from];
    if (c != 'u') return known != NULL;
    if (!rllb_i_hex4(r, &code) || (code >= 0xdc00 && code < 0xe000)) return 0;
    if (code >= 0xd800 && code < 0xdc00) { /* the first half of a pair */
        if (r->end - r->at < 2 || *r->at++ != '\\' || *r->at++ != 'u' || !rllb_i_hex4(r, &low)) return 0;
        if (low < 0xdc00 || low >= 0xe000) return 0;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code < 0x80) {
        byte[0] = (char)code;
        return 1;
    }
    byte[0] = (char)(code < 0x800 ? 0xc0 | (code >> 6) : code < 0x10000 ? 0xe0 | (code >> 12) : 0xf0 | (code >> 18));
    byte[1] = (char)(0x80 | ((code < 0x800 ? code : code < 0x10000 ? code >> 6 : code >> 12) & 63));
    byte[2] = (char)(0x80 | ((code < 0x10000 ? code : code >> 6) & 63));
    byte[3] = (char)(0x80 | (code & 63));
    return code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/* Reads a JSON string into out[size] with its final zero. What does not fit is cut and *whole becomes false. */
static bool rllb_i_string(rllb_i_reader *r, char *out, size_t size, bool *whole)
{
    size_t used = 0;
    int i;

    *whole = true;
    if (!rllb_i_expect(r, '"')) return false;
    while (r->at < r->end && *r->at != '"') {
        char byte[4];
        int bytes = 1;
        byte[0] = *r->at++;
        if ((unsigned char)byte[0] < 32) return false;
        if (byte[0] == '\\') bytes = rllb_i_escape(r, byte);
        if (!bytes) return false;
        for (i = 0; i < bytes; i++) {
            if (used + 1 < size) out[used++] = byte[i];
            else *whole = false;
        }
    }
    if (size) out[used] = 0;
    return r->at < r->end && *r->at++ == '"';
}

static bool rllb_i_number(rllb_i_reader *r, uint64_t *out)
{
    uint64_t n = 0;
    bool any = false;

    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        uint64_t digit = (uint64_t)(*r->at++ - '0');
        if (n > (UINT64_MAX - digit) / 10) return false;
        n = n * 10 + digit;
        any = true;
    }
    *out = n;
    return any;
}

/* One tensor of the header, as it stands there. */
typedef struct rllb_i_tensor_info {
    const char *at; /* where its name stands */
    char name[RLLB_NN_NAME_MAX];
    bool named;           /* the whole name is in `name` */
    int32_t dtype;        /* -1: a type we do not know */
    int32_t dims;
    uint64_t rows, cols;  /* dimensions past the first are multiplied into cols */
    uint64_t begin, end;
} rllb_i_tensor_info;

/* "dtype" "shape" "data_offsets", each once, in any order. */
static bool rllb_i_read_tensor(rllb_i_reader *r, rllb_i_tensor_info *t)
{
    char key[16], value[8];
    bool whole, more;
    int seen = 0, i;
    uint64_t n;

    if (!rllb_i_expect(r, '{')) return false;
    for (more = true; more; more = rllb_i_expect(r, ',')) {
        if (!rllb_i_string(r, key, sizeof key, &whole) || !rllb_i_expect(r, ':')) return false;
        if (strcmp(key, "dtype") == 0) {
            if (!rllb_i_string(r, value, sizeof value, &whole)) return false;
            t->dtype = -1;
            for (i = 0; i < RLLB_NN_DTYPE_NUM; i++) {
                if (strcmp(value, rllb_i_dtype_names[i]) == 0) t->dtype = i;
            }
            seen += 1;
        } else if (strcmp(key, "shape") == 0) {
            t->dims = 0;
            t->rows = t->cols = 1;
            if (!rllb_i_expect(r, '[')) return false;
            while (!rllb_i_peek(r, ']')) {
                if (t->dims > 0 && !rllb_i_expect(r, ',')) return false;
                if (!rllb_i_number(r, &n) || t->dims >= 64) return false;
                if (t->dims++ == 0) t->rows = n;
                else if (t->cols && n > UINT64_MAX / t->cols) return false;
                else t->cols *= n;
            }
            if (!rllb_i_expect(r, ']')) return false;
            seen += 10;
        } else if (strcmp(key, "data_offsets") == 0) {
            if (!rllb_i_expect(r, '[') || !rllb_i_number(r, &t->begin) || !rllb_i_expect(r, ',') ||
                !rllb_i_number(r, &t->end) || !rllb_i_expect(r, ']')) {
                return false;
            }
            seen += 100;
        } else {
            return false;
        }
    }
    return rllb_i_expect(r, '}') && seen == 111;
}

static bool rllb_i_read_meta(rllb_i_reader *r, const char *key, char *out, size_t out_size, rllb_status *found)
{
    char name[RLLB_NN_NAME_MAX];
    bool whole, more = true;

    if (!rllb_i_expect(r, '{')) return false;
    if (rllb_i_expect(r, '}')) return true;
    for (; more; more = rllb_i_expect(r, ',')) {
        char nothing[1] = { 0 };
        bool wanted;
        if (!rllb_i_string(r, name, sizeof name, &whole) || !rllb_i_expect(r, ':')) return false;
        wanted = key && whole && strcmp(name, key) == 0;
        if (!rllb_i_string(r, wanted ? out : nothing, wanted ? out_size : sizeof nothing, &whole)) return false;
        if (wanted) *found = whole ? RLLB_OK : RLLB_ERROR_LIMIT;
    }
    return rllb_i_expect(r, '}');
}

/* Walks through the header's members. `next` answers 1 with a tensor, 0 at the end, -1 when it is broken. */
typedef struct rllb_i_walk {
    rllb_i_reader r;
    uint64_t data_bytes;
    const char *meta_key; /* what to look for in the metadata, or NULL */
    char *meta_out;
    size_t meta_size;
    rllb_status meta_found;
    bool started, meta_seen;
} rllb_i_walk;

static rllb_status rllb_i_walk_open(const void *file, size_t size, rllb_i_walk *w)
{
    uint64_t length;

    memset(w, 0, sizeof *w);
    w->meta_found = RLLB_ERROR_MISSING;
    if (!file) return RLLB_ERROR_ARGUMENT;
    if (size < sizeof length) return RLLB_ERROR_TRUNCATED;
    memcpy(&length, file, sizeof length);
    if (length > size - sizeof length) return RLLB_ERROR_TRUNCATED;
    w->r.at = (const char *)file + sizeof length;
    w->r.end = w->r.at + length;
    w->data_bytes = size - sizeof length - length;
    return RLLB_OK;
}

static int rllb_i_walk_next(rllb_i_walk *w, rllb_i_tensor_info *t)
{
    bool whole;

    for (;;) {
        if (!w->started && !rllb_i_expect(&w->r, '{')) return -1;
        if (w->started ? !rllb_i_expect(&w->r, ',') : rllb_i_peek(&w->r, '}')) {
            if (!rllb_i_expect(&w->r, '}')) return -1;
            for (; w->r.at < w->r.end; w->r.at++) {
                if (*w->r.at != ' ') return -1;
            }
            return 0;
        }
        w->started = true;
        memset(t, 0, sizeof *t);
        t->at = w->r.at;
        if (!rllb_i_string(&w->r, t->name, sizeof t->name, &whole) || !rllb_i_expect(&w->r, ':')) return -1;
        t->named = whole;
        if (strcmp(t->name, "__metadata__") != 0) return rllb_i_read_tensor(&w->r, t) ? 1 : -1;
        if (w->meta_seen) return -1;
        w->meta_seen = true;
        if (!rllb_i_read_meta(&w->r, w->meta_key, w->meta_out, w->meta_size, &w->meta_found)) return -1;
    }
}

static rllb_status rllb_i_refuse(const rllb_logger *logger, rllb_status status, const char *detail)
{
    rllb_log(logger, status, detail);
    return status;
}

static rllb_status rllb_i_find(const void *file, size_t size, const char *name, rllb_i_tensor_info *t)
{
    rllb_i_walk w;
    int32_t more;
    rllb_status status = rllb_i_walk_open(file, size, &w);

    if (status != RLLB_OK) return status;
    while ((more = rllb_i_walk_next(&w, t)) > 0) {
        if (t->named && strcmp(t->name, name) == 0) return RLLB_OK;
    }
    return more < 0 ? RLLB_ERROR_FORMAT : RLLB_ERROR_MISSING;
}

rllb_status rllb_nn_file_check(const void *file, size_t size, const rllb_logger *logger)
{
    rllb_i_walk w;
    rllb_i_tensor_info t, first_of_name;
    uint64_t covered = 0, before = 0, elements;
    int32_t tensors = 0, more;
    bool first = true;
    rllb_status status = rllb_i_walk_open(file, size, &w);

    if (status != RLLB_OK) return rllb_i_refuse(logger, status, "header length");
    /* Each round follows the tensors from where the last one ended. In a file written in order one round covers all;
       a round that gets nowhere means a gap or an overlap. */
    do {
        before = covered;
        rllb_i_walk_open(file, size, &w);
        while ((more = rllb_i_walk_next(&w, &t)) > 0) {
            if (t.begin == covered && t.end > t.begin) covered = t.end;
            if (!first) continue;
            if (++tensors > RLLB_I_FILE_TENSORS_MAX) return rllb_i_refuse(logger, RLLB_ERROR_LIMIT, t.name);
            if (t.begin > t.end) return rllb_i_refuse(logger, RLLB_ERROR_FORMAT, t.name);
            if (t.end > w.data_bytes) return rllb_i_refuse(logger, RLLB_ERROR_TRUNCATED, t.name);
            if (t.cols && t.rows > UINT64_MAX / 8 / t.cols) return rllb_i_refuse(logger, RLLB_ERROR_FORMAT, t.name);
            elements = t.rows * t.cols;
            if (t.dtype >= 0 && elements * rllb_i_dtype_bytes[t.dtype] != t.end - t.begin) {
                return rllb_i_refuse(logger, RLLB_ERROR_FORMAT, t.name);
            }
        }
        if (more < 0) return rllb_i_refuse(logger, RLLB_ERROR_FORMAT, "header");
        first = false;
    } while (covered > before && covered < w.data_bytes);
    if (covered != w.data_bytes) return rllb_i_refuse(logger, RLLB_ERROR_OVERLAP, "data_offsets");
    /* Covered end to end; what is left to find are tensors beside that chain: then lengths add up to more. */
    rllb_i_walk_open(file, size, &w);
    for (covered = 0; rllb_i_walk_next(&w, &t) > 0;) {
        if (t.end - t.begin > w.data_bytes - covered) return rllb_i_refuse(logger, RLLB_ERROR_OVERLAP, t.name);
        covered += t.end - t.begin;
        if (rllb_i_find(file, size, t.name, &first_of_name) == RLLB_OK && first_of_name.at != t.at && t.named) {
            return rllb_i_refuse(logger, RLLB_ERROR_FORMAT, t.name);
        }
    }
    return RLLB_OK;
}

rllb_status rllb_nn_file_query(const void *file, size_t size, const char *name, rllb_nn_dtype *dtype, int64_t *rows,
                               int64_t *cols, size_t *offset)
{
    rllb_i_tensor_info t;
    uint64_t header;
    rllb_status status = rllb_i_find(file, size, name, &t);

    if (status != RLLB_OK) return status;
    memcpy(&header, file, sizeof header);
    if (t.dtype < 0) return RLLB_ERROR_SHAPE;
    *dtype = (rllb_nn_dtype)t.dtype;
    *rows = (int64_t)t.rows;
    *cols = t.dims > 1 ? (int64_t)t.cols : 0;
    *offset = (size_t)(sizeof header + header + t.begin);
    return RLLB_OK;
}

rllb_status rllb_nn_file_meta(const void *file, size_t size, const char *key, char *out, size_t out_size)
{
    rllb_i_walk w;
    rllb_i_tensor_info t;
    int32_t more;
    rllb_status status = rllb_i_walk_open(file, size, &w);

    if (status != RLLB_OK) return status;
    if (!key || !out || !out_size) return RLLB_ERROR_ARGUMENT;
    w.meta_key = key;
    w.meta_out = out;
    w.meta_size = out_size;
    do more = rllb_i_walk_next(&w, &t);
    while (more > 0 && w.meta_found == RLLB_ERROR_MISSING);
    return more < 0 ? RLLB_ERROR_FORMAT : w.meta_found;
}

static void rllb_i_entry_read(const rllb_nn_entry *e, const unsigned char *from)
{
    int64_t r, c;

    if (!e->panels) {
        memcpy(e->data, from, rllb_i_entry_bytes(e));
        return;
    }
    for (r = 0; r < e->shape[0]; r++) {
        for (c = 0; c < e->shape[1]; c++, from += sizeof(float)) {
            memcpy(rllb_i_panel_element(e, r, c), from, sizeof(float));
        }
    }
}

rllb_status rllb_nn_archive_load(const rllb_nn_archive *a, const void *file, size_t size, const rllb_logger *logger)
{
    rllb_i_tensor_info t;
    uint64_t header;
    int32_t i, round;
    rllb_status status;

    if (!a || a->overflow) return RLLB_ERROR_ARGUMENT;
    status = rllb_nn_file_check(file, size, logger);
    if (status != RLLB_OK) return status;
    memcpy(&header, file, sizeof header);
    for (round = 0; round < 2; round++) { /* first all are checked, then all are read */
        for (i = 0; i < a->count; i++) {
            const rllb_nn_entry *e = &a->entries[i];
            status = rllb_i_find(file, size, e->name, &t);
            if (status != RLLB_OK) return rllb_i_refuse(logger, status, e->name);
            if (t.dtype != (int32_t)e->dtype || t.rows != (uint64_t)e->shape[0] || t.cols != (uint64_t)e->shape[1]) {
                return rllb_i_refuse(logger, RLLB_ERROR_SHAPE, e->name);
            }
            if (round) rllb_i_entry_read(e, (const unsigned char *)file + sizeof header + header + t.begin);
        }
    }
    return RLLB_OK;
}

/* Shape of PREFIX LAYER WHAT, if there is such a matrix of a size we can hold. */
static bool rllb_i_file_matrix(const void *file, size_t size, const char *prefix, const char *layer, const char *what,
                               int32_t *out, int32_t *in)
{
    char name[RLLB_NN_NAME_MAX + 1];
    rllb_nn_dtype dtype;
    int64_t rows, cols;
    size_t offset;

    if (rllb_nn_file_query(file, size, rllb_i_name(name, prefix, layer, what), &dtype, &rows, &cols, &offset) !=
        RLLB_OK) {
        return false;
    }
    if (dtype != RLLB_NN_F32 || rows < 1 || cols < 1 || rows > 4 * RLLB_NN_UNITS_MAX || cols > 4 * RLLB_NN_UNITS_MAX) {
        return false;
    }
    *out = (int32_t)rows;
    *in = (int32_t)cols;
    return true;
}

/* Widths of NAME.0.weight, NAME.1.weight, ...: how many there are; one more than `most` are too many. */
static int32_t rllb_i_file_chain(const void *file, size_t size, const char *prefix, const char *layer, int32_t most,
                                 int32_t *width, int32_t *in)
{
    char name[16] = { 0 };
    size_t n = strlen(layer);
    int32_t count, cols;

    memcpy(name, layer, n);
    name[n] = '.';
    for (count = 0; count <= most; count++) {
        name[n + 1] = (char)('0' + count);
        if (!rllb_i_file_matrix(file, size, prefix, name, ".weight", &width[count], &cols)) break;
        if (count == 0) *in = cols;
    }
    return count;
}

/* A plain decimal, whatever the locale. Negative if it is none. */
static float rllb_i_decimal(const char *text)
{
    double value = 0, place = 1;
    bool point = false;

    for (; *text; text++) {
        if (*text == '.' && !point) point = true;
        else if (*text >= '0' && *text <= '9') value = value * 10 + (*text - '0'), place *= point ? 10 : 1;
        else return -1;
    }
    return (float)(value / place);
}

/* Sizes of a network from the shapes of its tensors. */
static rllb_status rllb_i_net_shapes(const void *file, size_t size, const char *prefix, rllb_nn_net_desc *d)
{
    int32_t width[RLLB_NN_HIDDEN_MAX + 2], after[RLLB_NN_AFTER_MAX + 2], rows = 0, cols = 0, in = 0, encoded, i;
    int32_t layers = rllb_i_file_chain(file, size, prefix, "layer", RLLB_NN_HIDDEN_MAX + 1, width, &in);
    int32_t afters = rllb_i_file_chain(file, size, prefix, "after", RLLB_NN_AFTER_MAX + 1, after, &cols);
    bool dueling = rllb_i_file_matrix(file, size, prefix, "value.0", ".weight", &d->dueling, &rows);
    bool set = rllb_i_file_matrix(file, size, prefix, "context.0", ".weight", &rows, &cols);

    if (!dueling) d->dueling = 0;
    if (rllb_i_file_matrix(file, size, prefix, "gru", ".weight_ih", &rows, &i)) {
        if (rows % 3) return RLLB_ERROR_SHAPE;
        d->gru = rows / 3;
        if (layers == 0) in = i;
    } else if (set && layers == 0) {
        rllb_i_file_matrix(file, size, prefix, "after.0", ".weight", &rows, &in);
    } else if (dueling && layers == 0) {
        rllb_i_file_matrix(file, size, prefix, "value.0", ".weight", &rows, &in);
    }
    if (dueling && !rllb_i_file_matrix(file, size, prefix, "advantage.1", ".weight", &d->outputs, &rows)) {
        return RLLB_ERROR_MISSING;
    }
    if (set || d->gru) {
        if (!dueling && afters < 1) return RLLB_ERROR_MISSING;
        if (!dueling) d->outputs = after[--afters];
    } else if (afters || (!dueling && layers < 1)) {
        return RLLB_ERROR_MISSING;
    } else if (!dueling) {
        d->outputs = width[--layers];
    }
    if (layers > RLLB_NN_HIDDEN_MAX || afters > RLLB_NN_AFTER_MAX) return RLLB_ERROR_LIMIT;
    for (i = 0; i < layers; i++) d->hidden[i] = width[i];
    for (i = 0; i < afters; i++) d->after[i] = after[i];
    if (layers == 0) d->hidden[0] = -1;
    d->inputs = in;
    if (!set) return RLLB_OK;
    d->item_inputs = in;
    d->item_outputs = d->outputs;
    encoded = d->gru ? d->gru : layers ? width[layers - 1] : in;
    rllb_i_file_matrix(file, size, prefix, "context.0", ".weight", &rows, &cols);
    d->inputs = cols - 2 * encoded;
    d->outputs = 0;
    if (rllb_i_file_matrix(file, size, prefix, "common.1", ".weight", &rows, &cols)) d->outputs = rows;
    return d->inputs >= 0 ? RLLB_OK : RLLB_ERROR_SHAPE;
}

static bool rllb_i_file_has(const void *file, size_t size, const char *prefix, const char *what)
{
    char name[RLLB_NN_NAME_MAX + 1];
    rllb_nn_dtype dtype;
    int64_t rows, cols;
    size_t offset;

    rllb_i_name(name, prefix, what, "");
    return rllb_nn_file_query(file, size, name, &dtype, &rows, &cols, &offset) == RLLB_OK;
}

rllb_status rllb_nn_net_desc_load(const void *file, size_t size, const char *prefix, rllb_nn_net_desc *out)
{
    static const char *const norms[4] = { "norm.0.weight", "norm.value.0.weight", "norm.after.0.weight",
                                          "norm.common.0.weight" };
    char text[64];
    rllb_nn_net_desc d;
    rllb_status status = rllb_nn_file_check(file, size, NULL);
    int32_t i;

    if (status != RLLB_OK) return status;
    rllb_nn_net_desc_default(&d);
    status = rllb_i_net_shapes(file, size, prefix, &d);
    if (status != RLLB_OK) return status;
    for (i = 0; i < 4; i++) d.layer_norm = d.layer_norm || rllb_i_file_has(file, size, prefix, norms[i]);
    d.normalise = rllb_i_file_has(file, size, prefix, "normal.count") ||
                  rllb_i_file_has(file, size, prefix, "item_normal.count");
    if (rllb_nn_file_meta(file, size, "activation", text, sizeof text) == RLLB_OK) {
        if (rllb_nn_activation_of(text) < 0) return RLLB_ERROR_NAME;
        d.activation = (rllb_nn_activation)rllb_nn_activation_of(text);
    }
    if (rllb_nn_file_meta(file, size, "output_activation", text, sizeof text) == RLLB_OK) {
        if (rllb_nn_activation_of(text) < 0) return RLLB_ERROR_NAME;
        d.output_activation = (rllb_nn_activation)rllb_nn_activation_of(text);
    }
    if (rllb_nn_file_meta(file, size, "leak", text, sizeof text) == RLLB_OK) {
        d.leak = rllb_i_decimal(text);
        if (d.leak < 0) return RLLB_ERROR_FORMAT;
    }
    if (rllb_nn_file_meta(file, size, "heads", text, sizeof text) == RLLB_OK) {
        float heads = rllb_i_decimal(text);
        if (!(heads >= 1 && heads <= (float)RLLB_NN_UNITS_MAX)) return RLLB_ERROR_FORMAT;
        d.heads = (int32_t)heads;
    }
    if (!rllb_nn_net_size(&d)) return RLLB_ERROR_SHAPE;
    *out = d;
    return RLLB_OK;
}

rllb_status rllb_nn_policy_desc_load(const void *file, size_t size, int32_t items, rllb_nn_policy_desc *out)
{
    int32_t number[RLLB_I_SAVED_SPACE];
    rllb_nn_entry entries[3];
    rllb_nn_archive a = { entries, 0, 3, 0 };
    rllb_nn_policy_desc d;
    rllb_nn_net_desc net;
    rllb_status status;

    rllb_nn_policy_desc_default(&d);
    status = rllb_nn_net_desc_load(file, size, "", &d.net);
    if (status != RLLB_OK) return status;
    rllb_nn_archive_add(&a, "policy.space", RLLB_NN_I32, RLLB_I_SAVED_SPACE, 0, number);
    rllb_nn_archive_add(&a, "policy.values", RLLB_NN_F32, RLLB_NN_CHOICES_MAX, 0, d.values);
    rllb_nn_archive_add(&a, "policy.common", RLLB_NN_F32, RLLB_NN_COMMON_MAX, RLLB_NN_CHOICES_MAX, d.common);
    status = rllb_nn_archive_load(&a, file, size, NULL);
    if (status != RLLB_OK) return status;
    if (number[10] != RLLB_I_POLICY_VERSION) return RLLB_ERROR_VERSION;
    d.space.observations = number[0];
    d.space.item_observations = number[1];
    d.space.items = number[2];
    d.space.heads = number[3];
    d.space.common = number[4];
    d.space.choices = number[5];
    d.space.last_action = number[6] != 0;
    d.space.agent_id = number[7] != 0;
    d.agents = number[8];
    d.logarithmic = number[9] != 0;
    if (d.agents < 1 || d.agents > 1024 || !rllb_i_space_resolve(&d.space)) return RLLB_ERROR_FORMAT;
    if (items && rllb_i_is_set(&d.space)) d.space.items = items;
    else if (items && items != d.space.heads) return RLLB_ERROR_SHAPE;
    net = d.net;
    rllb_i_space_net(&d.space, d.agents, d.space.choices ? d.space.choices : 2, false, &net);
    if (net.inputs != d.net.inputs || net.outputs != d.net.outputs || net.item_inputs != d.net.item_inputs ||
        net.item_outputs != d.net.item_outputs) {
        return RLLB_ERROR_SHAPE;
    }
    if (!rllb_nn_policy_size(&d)) return RLLB_ERROR_FORMAT;
    *out = d;
    return RLLB_OK;
}

int32_t rllb_nn_net_meta(const rllb_nn_net *net, char text[80], rllb_nn_meta meta[RLLB_NN_NET_METAS])
{
    double half = 0.5;
    int places, i;

    text[0] = 0;
    for (places = 1; places < 60 && !(rllb_i_decimal(text) == net->desc.leak); places++) { /* the fewest that tell */
        double rest = (double)net->desc.leak + (half /= 10);
        for (i = 0; i < places + 2; i++) {
            text[i] = i == 1 ? '.' : (char)('0' + (int)rest);
            if (i != 1) rest = (rest - (int)rest) * 10;
        }
        text[i] = 0;
    }
    meta[0].key = "activation";
    meta[0].value = rllb_nn_activation_name(net->desc.activation);
    meta[1].key = "output_activation";
    meta[1].value = rllb_nn_activation_name(net->desc.output_activation);
    meta[2].key = "leak";
    meta[2].value = text;
    meta[3].key = "isa";
    meta[3].value = rllb_nn_kernels_name(net->k);
    rllb_i_digits_of(net->desc.heads, text + 64);
    meta[4].key = "heads";
    meta[4].value = text + 64;
    return RLLB_NN_NET_METAS;
}

#ifdef __cplusplus
}
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#endif /* RLLB_NN_I_DONE */

#else /* RLLB_NN_I_STAMP */

/* ================================================================================================================
   >>kernels, the template: this part of the file is read once per instruction set, by the implementation above,
   with RLLB_NN_I_STAMP set to one of RLLB_NN_I_GENERIC ... . Everything is said in a few vector operations:

       V            RLLB_NN_I_VW floats                  MADD(a, b, c)    a * b + c, fused or not as the set says
       GT(a, b)     all bits set where a > b             SEL(m, a, b)     a where m is set, else b
       MAXV(a, b)   a > b ? a : b, so NaN in b stays     POW2(t)          2^n for t = n + 1.5 * 2^23
       RATIO(m, v, s, e)   m / (sqrt(v) * s + e)

   Sums run in one order whatever the vector width: along k inside one accumulator per output, and across the 16
   lanes of a panel by halves. So sets that do not fuse agree bit for bit, and so do those that fuse. */

#if RLLB_NN_I_STAMP == RLLB_NN_I_SSE2
#define RLLB_NN_I_NAME(f) rllb_i_##f##_sse2
#define RLLB_NN_I_SET "sse2"
#define RLLB_NN_I_TARGET RLLB_NN_I_ATTR(target("sse2"))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_AVX2_PORTABLE
#define RLLB_NN_I_NAME(f) rllb_i_##f##_avx2_portable
#define RLLB_NN_I_SET "avx2_portable"
#define RLLB_NN_I_TARGET RLLB_NN_I_ATTR(target("avx2"))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_AVX2
#define RLLB_NN_I_NAME(f) rllb_i_##f##_avx2
#define RLLB_NN_I_SET "avx2"
#define RLLB_NN_I_TARGET RLLB_NN_I_ATTR(target("avx2,fma"))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_AVX512
#define RLLB_NN_I_NAME(f) rllb_i_##f##_avx512
#define RLLB_NN_I_SET "avx512"
#define RLLB_NN_I_TARGET RLLB_NN_I_ATTR(target("avx512f,avx2,fma"))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_NEON
#define RLLB_NN_I_NAME(f) rllb_i_##f##_neon
#define RLLB_NN_I_SET "neon"
#define RLLB_NN_I_TARGET
#elif RLLB_NN_I_STAMP == RLLB_NN_I_NEON_PORTABLE
#define RLLB_NN_I_NAME(f) rllb_i_##f##_neon_portable
#define RLLB_NN_I_SET "neon_portable"
#define RLLB_NN_I_TARGET
#else
#define RLLB_NN_I_NAME(f) rllb_i_##f##_generic
#define RLLB_NN_I_SET "generic"
#define RLLB_NN_I_TARGET
#endif

#define KERNEL static RLLB_NN_I_TARGET
#define INLINE static RLLB_NN_I_ALWAYS_INLINE RLLB_NN_I_TARGET
#define NAME(f) RLLB_NN_I_NAME(f)

#if RLLB_NN_I_STAMP == RLLB_NN_I_AVX512
/* The maskz forms compute the same; the plain ones make gcc 12 warn of its own headers in C++. */
#define V __m512
#define VW 16
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define LD(p) _mm512_load_ps(p)
#define ST(p, a) _mm512_store_ps(p, a)
#define SET1(x) _mm512_set1_ps(x)
#define ADDV(a, b) _mm512_add_ps(a, b)
#define SUBV(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define DIVV(a, b) _mm512_div_ps(a, b)
#define MADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define MAXV(a, b) _mm512_maskz_max_ps(0xffff, a, b)
#define MINV(a, b) _mm512_maskz_min_ps(0xffff, a, b)
#define SQRTV(a) _mm512_maskz_sqrt_ps(0xffff, a)
#define MASK __mmask16
#define GT(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define SEL(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define POW2(t)                                                                                     \
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_maskz_slli_epi32(0xffff, _mm512_castps_si512(t), 23), \
                                         _mm512_set1_epi32(0x3f800000)))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_AVX2 || RLLB_NN_I_STAMP == RLLB_NN_I_AVX2_PORTABLE
#define V __m256
#define VW 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define LD(p) _mm256_load_ps(p)
#define ST(p, a) _mm256_store_ps(p, a)
#define SET1(x) _mm256_set1_ps(x)
#define ADDV(a, b) _mm256_add_ps(a, b)
#define SUBV(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define DIVV(a, b) _mm256_div_ps(a, b)
#if RLLB_NN_I_STAMP == RLLB_NN_I_AVX2
#define MADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#else
#define MADD(a, b, c) _mm256_add_ps(_mm256_mul_ps(a, b), c)
#endif
#define MAXV(a, b) _mm256_max_ps(a, b)
#define MINV(a, b) _mm256_min_ps(a, b)
#define SQRTV(a) _mm256_sqrt_ps(a)
#define MASK __m256
#define GT(a, b) _mm256_cmp_ps(a, b, _CMP_GT_OQ)
#define SEL(m, a, b) _mm256_blendv_ps(b, a, m)
#define POW2(t)                                                                                     \
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t), 23), \
                                         _mm256_set1_epi32(0x3f800000)))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_SSE2
#define V __m128
#define VW 4
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define LD(p) _mm_load_ps(p)
#define ST(p, a) _mm_store_ps(p, a)
#define SET1(x) _mm_set1_ps(x)
#define ADDV(a, b) _mm_add_ps(a, b)
#define SUBV(a, b) _mm_sub_ps(a, b)
#define MUL(a, b) _mm_mul_ps(a, b)
#define DIVV(a, b) _mm_div_ps(a, b)
#define MADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define MAXV(a, b) _mm_max_ps(a, b)
#define MINV(a, b) _mm_min_ps(a, b)
#define SQRTV(a) _mm_sqrt_ps(a)
#define MASK __m128
#define GT(a, b) _mm_cmpgt_ps(a, b)
#define SEL(m, a, b) _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b))
#define POW2(t) \
    _mm_castsi128_ps(_mm_add_epi32(_mm_slli_epi32(_mm_castps_si128(t), 23), _mm_set1_epi32(0x3f800000)))
#elif RLLB_NN_I_STAMP == RLLB_NN_I_NEON || RLLB_NN_I_STAMP == RLLB_NN_I_NEON_PORTABLE
#define V float32x4_t
#define VW 4
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define LD(p) vld1q_f32(p)
#define ST(p, a) vst1q_f32(p, a)
#define SET1(x) vdupq_n_f32(x)
#define ADDV(a, b) vaddq_f32(a, b)
#define SUBV(a, b) vsubq_f32(a, b)
#define MUL(a, b) vmulq_f32(a, b)
#define DIVV(a, b) vdivq_f32(a, b)
#if RLLB_NN_I_STAMP == RLLB_NN_I_NEON
#define MADD(a, b, c) vfmaq_f32(c, a, b)
#else
#define MADD(a, b, c) vaddq_f32(vmulq_f32(a, b), c)
#endif
#define MASK uint32x4_t
#define GT(a, b) vcgtq_f32(a, b)
#define SEL(m, a, b) vbslq_f32(m, a, b)
#define MAXV(a, b) vbslq_f32(vcgtq_f32(a, b), a, b)
#define MINV(a, b) vbslq_f32(vcltq_f32(a, b), a, b)
#define SQRTV(a) vsqrtq_f32(a)
#define POW2(t) \
    vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23), vdupq_n_u32(0x3f800000u)))
#else
#define V rllb_i_generic_v
#define VW RLLB_NN_I_GENERIC_LANES
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define LD(p) rllb_i_generic_load(p)
#define ST(p, a) rllb_i_generic_store(p, a)
#define SET1(x) rllb_i_generic_set1(x)
#define ADDV(a, b) ((a) + (b))
#define SUBV(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIVV(a, b) ((a) / (b))
#define MADD(a, b, c) rllb_i_generic_madd(a, b, c)
#define MAXV(a, b) SEL(GT(a, b), a, b)
#define MINV(a, b) SEL(GT(b, a), a, b)
#define SQRTV(a) rllb_i_generic_sqrt(a)
#define MASK rllb_i_generic_mask
#define GT(a, b) rllb_i_generic_gt(a, b)
#define SEL(m, a, b) rllb_i_generic_sel(m, a, b)
#define POW2(t) rllb_i_generic_pow2(t)
#endif

#define PANEL_VECTORS (16 / VW)
#define PANELS_AT_ONCE (VW == 16 ? 4 : VW == 8 ? 2 : 1) /* as many accumulators as registers allow */
#define ZERO() SET1(0.0f)
#define SPLAT_MAX(lo, x) MAXV(SET1(lo), x) /* the constant first: NaN in x comes through */
#define SPLAT_MIN(hi, x) MINV(SET1(hi), x)

/* ---- multiply ------------------------------------------------------------------------------------------------ */

/* One tile of C: `rows` x `vectors` accumulators live in registers while k runs. A is read one float at a time
   (row step and k step in floats; after `chunk` steps of k it goes on a_panel floats further), B a vector at a time
   (the second vector b_next floats behind the first). The sums start from `from` (bias, C itself, or NULL: zero)
   and leave through max(slope * c, c): identity for slope 1, ReLU for 0, leaky ReLU between. */
INLINE void NAME(tile)(const float *a, ptrdiff_t a_row, ptrdiff_t a_k, int32_t chunk, ptrdiff_t a_panel,
                       const float *b, ptrdiff_t b_next, int32_t depth, float *c, ptrdiff_t c_next, const float *from,
                       ptrdiff_t from_row, ptrdiff_t from_next, float slope, int rows, int vectors)
{
    V sum[TILE_ROWS][TILE_VECTORS], row[TILE_VECTORS], leak;
    int i, j;

    RLLB_NN_I_UNROLL
    for (i = 0; i < rows; i++) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < vectors; j++) sum[i][j] = from ? LD(from + i * from_row + j * from_next) : ZERO();
    }
    while (depth > 0) {
        int32_t run = depth < chunk ? depth : chunk, k;
        const float *ak = a;
        RLLB_NN_I_UNROLL_4
        for (k = 0; k < run; k++) {
            RLLB_NN_I_UNROLL
            for (j = 0; j < vectors; j++) row[j] = LD(b + j * b_next);
            RLLB_NN_I_UNROLL
            for (i = 0; i < rows; i++) {
                V x = SET1(ak[i * a_row]);
                RLLB_NN_I_UNROLL
                for (j = 0; j < vectors; j++) sum[i][j] = MADD(x, row[j], sum[i][j]);
            }
            ak += a_k;
            b += 16;
        }
        a += a_panel;
        depth -= run;
    }
    leak = SET1(slope);
    RLLB_NN_I_UNROLL
    for (i = 0; i < rows; i++) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < vectors; j++) {
            ST(c + i * 16 + j * c_next, MAXV(slope == 0 ? ZERO() : MUL(sum[i][j], leak), sum[i][j]));
        }
    }
}

/* C[m][n] = from + op(A) B, B [depth][n]. transposed 0: A [m][depth]; 1: A [depth][m], whose tiles may not cross a
   panel of A. Each may be some rows of a tensor with more of them: a_rows and so on. k is cut so that the strip of B in
   use stays in the first-level cache; the order of summation does not change by it. */
INLINE void NAME(multiply)(int transposed, const float *a, int32_t a_rows, const float *b, int32_t b_rows, float *c,
                           int32_t c_rows, int32_t m, int32_t n, int32_t depth, const float *bias, float slope,
                           int accumulate)
{
    int32_t block = depth <= 128 ? 128 : 64; /* of k: a strip that just fits is better whole than in two */
    ptrdiff_t a_panel = (ptrdiff_t)a_rows * 16, b_panel = (ptrdiff_t)b_rows * 16, c_panel = (ptrdiff_t)c_rows * 16;
    ptrdiff_t next_b = VW == 16 ? b_panel : VW, next_c = VW == 16 ? c_panel : VW;
    int32_t vectors = (n + 15) / 16 * PANEL_VECTORS, width, k, v, i;

    for (k = 0; k == 0 || k < depth; k += block) {
        int32_t run = depth - k < block ? depth - k : block;
        float leak = k + block >= depth ? slope : 1.0f;
        for (v = 0; v < vectors; v += width) {
            const float *bv = b + (v / PANEL_VECTORS) * b_panel + (v % PANEL_VECTORS) * VW + (ptrdiff_t)k * 16;
            float *cv = c + (v / PANEL_VECTORS) * c_panel + (v % PANEL_VECTORS) * VW;
            width = vectors - v >= TILE_VECTORS ? TILE_VECTORS : vectors - v >= 2 ? 2 : 1;
            for (i = 0; i < m;) {
                const float *ai = transposed ? a + (i / 16) * a_panel + i % 16 + (ptrdiff_t)k * 16
                                             : a + (ptrdiff_t)i * 16 + (k / 16) * a_panel;
                float *ci = cv + (ptrdiff_t)i * 16;
                const float *from = k > 0 || accumulate ? ci : bias ? bias + (ptrdiff_t)v * VW : NULL;
                ptrdiff_t from_row = k > 0 || accumulate ? 16 : 0;
                ptrdiff_t from_next = k > 0 || accumulate ? next_c : VW;
                int32_t left = transposed && m - i > 16 - i % 16 ? 16 - i % 16 : m - i;
#define TILE(R, W)                                                                                       \
    NAME(tile)(ai, transposed ? 1 : 16, transposed ? 16 : 1, transposed ? INT32_MAX : 16,                \
               transposed ? 0 : a_panel, bv, next_b, run, ci, next_c, from, from_row,                    \
               from_next, leak, R, W),                                                                   \
        i += R
#define STRIP(W)                                        \
    if (left >= TILE_ROWS) TILE(TILE_ROWS, W);          \
    else if (TILE_ROWS > 4 && left >= 4) TILE(4, W);    \
    else if (left >= 2) TILE(2, W);                     \
    else TILE(1, W)
                if (width == TILE_VECTORS) {
                    STRIP(TILE_VECTORS);
                } else if (TILE_VECTORS > 2 && width == 2) {
                    STRIP(2);
                } else {
                    STRIP(1);
                }
#undef STRIP
#undef TILE
            }
        }
    }
}

KERNEL void NAME(slice_nn)(const float *a, int32_t a_rows, const float *b, int32_t b_rows, float *c, int32_t c_rows,
                           int32_t m, int32_t n, int32_t depth, const float *bias, float slope, int accumulate)
{
    NAME(multiply)(0, a, a_rows, b, b_rows, c, c_rows, m, n, depth, bias, slope, accumulate);
}

KERNEL void NAME(slice_tn)(const float *a, int32_t a_rows, const float *b, int32_t b_rows, float *c, int32_t c_rows,
                           int32_t m, int32_t n, int32_t depth, const float *bias, float slope, int accumulate)
{
    NAME(multiply)(1, a, a_rows, b, b_rows, c, c_rows, m, n, depth, bias, slope, accumulate);
}

KERNEL void NAME(multiply_nn)(const float *a, const float *b, float *c, int32_t m, int32_t n, int32_t depth,
                              const float *bias, float slope, int accumulate)
{
    NAME(slice_nn)(a, m, b, depth, c, m, m, n, depth, bias, slope, accumulate);
}

KERNEL void NAME(multiply_tn)(const float *a, const float *b, float *c, int32_t m, int32_t n, int32_t depth,
                              const float *bias, float slope, int accumulate)
{
    NAME(slice_tn)(a, depth, b, depth, c, m, m, n, depth, bias, slope, accumulate);
}

/* `panels` panels of y = act(bias + x W): even and odd k are summed apart, to hide the latency of the additions. */
INLINE void NAME(vector_panels)(const float *x, const float *w, ptrdiff_t w_panel, const float *bias, float *y,
                                int32_t in, float slope, int panels)
{
    V even[PANELS_AT_ONCE * PANEL_VECTORS], odd[PANELS_AT_ONCE * PANEL_VECTORS], leak = SET1(slope);
    const float *wp[PANELS_AT_ONCE];
    int32_t k;
    int j;

    RLLB_NN_I_UNROLL
    for (j = 0; j < panels; j++) wp[j] = w + j * w_panel;
    RLLB_NN_I_UNROLL
    for (j = 0; j < panels * PANEL_VECTORS; j++) {
        even[j] = LD(bias + j * VW);
        odd[j] = ZERO();
    }
#define PAIR(AT)                                                                               \
    {                                                                                          \
        V x0 = SET1(x[AT]), x1 = SET1(x[(AT) + 1]);                                            \
        RLLB_NN_I_UNROLL                                                                       \
        for (j = 0; j < panels * PANEL_VECTORS; j++) {                                         \
            const float *at = wp[j / PANEL_VECTORS] + (AT) * 16 + (j % PANEL_VECTORS) * VW;    \
            even[j] = MADD(x0, LD(at), even[j]);                                               \
            odd[j] = MADD(x1, LD(at + 16), odd[j]);                                            \
        }                                                                                      \
    }
    for (k = 0; k + 8 <= in; k += 8) {
        PAIR(0)
        PAIR(2)
        PAIR(4)
        PAIR(6)
        RLLB_NN_I_UNROLL
        for (j = 0; j < panels; j++) wp[j] += 8 * 16;
        x += 8;
    }
    for (; k + 2 <= in; k += 2) {
        PAIR(0)
        RLLB_NN_I_UNROLL
        for (j = 0; j < panels; j++) wp[j] += 2 * 16;
        x += 2;
    }
#undef PAIR
    if (k < in) {
        V x0 = SET1(x[0]);
        RLLB_NN_I_UNROLL
        for (j = 0; j < panels * PANEL_VECTORS; j++) {
            even[j] = MADD(x0, LD(wp[j / PANEL_VECTORS] + (j % PANEL_VECTORS) * VW), even[j]);
        }
    }
    RLLB_NN_I_UNROLL
    for (j = 0; j < panels * PANEL_VECTORS; j++) {
        V sum = ADDV(even[j], odd[j]);
        ST(y + j * VW, MAXV(slope == 0 ? ZERO() : MUL(sum, leak), sum));
    }
}

/* y[out] = act(bias + x[in] W[in][out]) for one row. */
KERNEL void NAME(vector)(const float *x, const float *w, const float *bias, float *y, int32_t in, int32_t out,
                         float slope)
{
    ptrdiff_t w_panel = (ptrdiff_t)in * 16;
    int32_t panels = (out + 15) / 16, p = 0;

    for (; p + PANELS_AT_ONCE <= panels; p += PANELS_AT_ONCE) {
        NAME(vector_panels)(x, w + p * w_panel, w_panel, bias + p * 16, y + p * 16, in, slope,
                            PANELS_AT_ONCE);
    }
    for (; p < panels; p++) NAME(vector_panels)(x, w + p * w_panel, w_panel, bias + p * 16, y + p * 16, in, slope, 1);
}

/* Sum of the 16 lanes held in PANEL_VECTORS vectors, by halves: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
INLINE float NAME(lanes)(const V *v)
{
#if VW == 16
    __m512d pairs = _mm512_castps_pd(v[0]);
    __m256 e = _mm256_add_ps(_mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, pairs, 0)),
                             _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xff, pairs, 1)));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
#elif VW == 8
    __m256 e = _mm256_add_ps(v[0], v[1]);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
#else
    RLLB_NN_I_ALIGNED(float s[16]);
    int i, half;
    for (i = 0; i < PANEL_VECTORS; i++) ST(s + i * VW, v[i]);
    for (half = 8; half >= 1; half /= 2) {
        for (i = 0; i < half; i++) s[i] = s[i] + s[i + half];
    }
    return s[0];
#endif
}

/* Outputs o ... o + outs - 1 of one row: dots of the row with rows of W; even and odd panels are summed apart. */
INLINE void NAME(dot_outs)(const float *x, ptrdiff_t x_panel, const float *w, ptrdiff_t w_panel, int32_t panels,
                           const float *bias, float *y, int outs)
{
    V even[4][PANEL_VECTORS], odd[4][PANEL_VECTORS];
    int32_t p;
    int o, j;

    RLLB_NN_I_UNROLL
    for (o = 0; o < outs; o++) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < PANEL_VECTORS; j++) even[o][j] = odd[o][j] = ZERO();
    }
    for (p = 0; p + 1 < panels; p += 2) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < PANEL_VECTORS; j++) {
            V x0 = LD(x + j * VW), x1 = LD(x + x_panel + j * VW);
            RLLB_NN_I_UNROLL
            for (o = 0; o < outs; o++) {
                even[o][j] = MADD(x0, LD(w + o * 16 + j * VW), even[o][j]);
                odd[o][j] = MADD(x1, LD(w + w_panel + o * 16 + j * VW), odd[o][j]);
            }
        }
        x += 2 * x_panel;
        w += 2 * w_panel;
    }
    if (p < panels) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < PANEL_VECTORS; j++) {
            V x0 = LD(x + j * VW);
            RLLB_NN_I_UNROLL
            for (o = 0; o < outs; o++) even[o][j] = MADD(x0, LD(w + o * 16 + j * VW), even[o][j]);
        }
    }
    RLLB_NN_I_UNROLL
    for (o = 0; o < outs; o++) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < PANEL_VECTORS; j++) even[o][j] = ADDV(even[o][j], odd[o][j]);
        y[o] = NAME(lanes)(even[o]) + bias[o];
    }
}

/* Y[rows][out] = bias + X[rows][in] W^T for few outputs, W [out][in]. Lanes of Y past `out` become zero. */
KERNEL void NAME(dots)(const float *x, int32_t rows, int32_t in, const float *w, const float *bias, float *y,
                       int32_t out)
{
    ptrdiff_t x_panel = (ptrdiff_t)rows * 16, w_panel = (ptrdiff_t)out * 16;
    int32_t panels = (in + 15) / 16, r, o, j;

    for (r = 0; r < rows; r++) {
        const float *xr = x + (ptrdiff_t)r * 16;
        float *yr = y + (ptrdiff_t)r * 16;
        for (j = 0; j < PANEL_VECTORS; j++) ST(yr + j * VW, ZERO());
        for (o = 0; o < out;) {
#define DOTS(N) NAME(dot_outs)(xr, x_panel, w + o * 16, w_panel, panels, bias + o, yr + o, N), o += N
            if (out - o >= 4) DOTS(4);
            else if (out - o == 3) DOTS(3);
            else if (out - o == 2) DOTS(2);
            else DOTS(1);
#undef DOTS
        }
    }
}

/* T[cols][rows] = S[rows][cols]; lanes of T past `rows` become zero. */
KERNEL void NAME(transpose)(const float *s, int32_t rows, int32_t cols, float *t)
{
    int32_t r, c, i, j, p;

    for (p = 0; p < (cols + 15) / 16; p++) {
        const float *from = s + (ptrdiff_t)p * rows * 16;
        int32_t width = cols - p * 16 < 16 ? cols - p * 16 : 16;
        for (r = 0; r < rows; r += 16) {
            const float *block = from + (ptrdiff_t)r * 16;
            float *to = t + (ptrdiff_t)(r / 16) * cols * 16 + (ptrdiff_t)p * 256;
            int32_t height = rows - r < 16 ? rows - r : 16;
#if RLLB_NN_I_STAMP == RLLB_NN_I_AVX2 || RLLB_NN_I_STAMP == RLLB_NN_I_AVX2_PORTABLE || \
    RLLB_NN_I_STAMP == RLLB_NN_I_AVX512
            if (height == 16 && width == 16) {
                for (i = 0; i < 16; i += 8) {
                    for (j = 0; j < 16; j += 8) {
                        /* 8 x 8: rows k and k + 4 meet in one register on their way in, two rounds of shuffles */
                        const float *b = block + i * 16 + j;
                        float *d = to + j * 16 + i;
                        __m256 x[8], y[8];
                        RLLB_NN_I_UNROLL
                        for (c = 0; c < 4; c++) {
                            x[c] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(b + c * 16)),
                                                        _mm_load_ps(b + (c + 4) * 16), 1);
                            x[c + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(b + c * 16 + 4)),
                                                            _mm_load_ps(b + (c + 4) * 16 + 4), 1);
                        }
                        RLLB_NN_I_UNROLL
                        for (c = 0; c < 8; c += 4) {
                            y[c] = _mm256_unpacklo_ps(x[c], x[c + 1]);
                            y[c + 1] = _mm256_unpackhi_ps(x[c], x[c + 1]);
                            y[c + 2] = _mm256_unpacklo_ps(x[c + 2], x[c + 3]);
                            y[c + 3] = _mm256_unpackhi_ps(x[c + 2], x[c + 3]);
                            _mm256_store_ps(d + c * 16, _mm256_shuffle_ps(y[c], y[c + 2], 0x44));
                            _mm256_store_ps(d + (c + 1) * 16, _mm256_shuffle_ps(y[c], y[c + 2], 0xee));
                            _mm256_store_ps(d + (c + 2) * 16, _mm256_shuffle_ps(y[c + 1], y[c + 3], 0x44));
                            _mm256_store_ps(d + (c + 3) * 16, _mm256_shuffle_ps(y[c + 1], y[c + 3], 0xee));
                        }
                    }
                }
                continue;
            }
#endif
            for (c = 0; c < width; c++) {
                for (i = 0; i < height; i++) to[c * 16 + i] = block[i * 16 + c];
                for (j = height; j < 16; j++) to[c * 16 + j] = 0;
            }
        }
    }
}

/* The sums of `vectors` vectors, `next` floats apart: even and odd rows apart. */
INLINE void NAME(sums)(const float *from, ptrdiff_t next, int32_t rows, float *sum, int vectors)
{
    V even[4], odd[4];
    int32_t r;
    int j;

    RLLB_NN_I_UNROLL
    for (j = 0; j < vectors; j++) even[j] = odd[j] = ZERO();
    for (r = 0; r + 1 < rows; r += 2) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < vectors; j++) {
            even[j] = ADDV(even[j], LD(from + j * next));
            odd[j] = ADDV(odd[j], LD(from + j * next + 16));
        }
        from += 32;
    }
    RLLB_NN_I_UNROLL
    for (j = 0; j < vectors; j++) {
        if (r < rows) even[j] = ADDV(even[j], LD(from + j * next));
        ST(sum + j * VW, ADDV(even[j], odd[j]));
    }
}

/* sum[cols] = sum over the rows of D[rows][cols]. Several vectors at once hide the latency of the additions. */
KERNEL void NAME(column_sums)(const float *d, int32_t rows, int32_t cols, float *sum)
{
    enum { AT_ONCE = VW == 8 ? 2 : 4 };
    ptrdiff_t panel = (ptrdiff_t)rows * 16, next = VW == 16 ? panel : VW;
    int32_t vectors = (cols + 15) / 16 * PANEL_VECTORS, v = 0;

    for (; v + AT_ONCE <= vectors; v += AT_ONCE) {
        NAME(sums)(d + v / PANEL_VECTORS * panel + v % PANEL_VECTORS * VW, next, rows, sum + v * VW, AT_ONCE);
    }
    for (; v < vectors; v++) NAME(sums)(d + v * panel, next, rows, sum + v * VW, 1); /* VW 16: panels left over */
}

/* ---- activations --------------------------------------------------------------------------------------------- */

/* exp(x) - 1 = 2^n (r + r^2 q(r)) + (2^n - 1) with x = n ln 2 + r, |r| <= ln 2 / 2; q is a minimax polynomial.
   *power gets 2^n. x is clamped to where 2^n is normal. */
INLINE V NAME(expm1_parts)(V x, V *power)
{
    V t, n, r, q;

    x = SPLAT_MIN(88.0f, SPLAT_MAX(-87.0f, x));
    t = ADDV(MUL(x, SET1(1.44269504f)), SET1(12582912.0f));
    n = SUBV(t, SET1(12582912.0f));
    r = MADD(n, SET1(-0.693359375f), x);
    r = MADD(n, SET1(2.12194440e-4f), r);
    q = MADD(SET1(1.9875691500e-4f), r, SET1(1.3981999507e-3f));
    q = MADD(q, r, SET1(8.3334519073e-3f));
    q = MADD(q, r, SET1(4.1665795894e-2f));
    q = MADD(q, r, SET1(1.6666665459e-1f));
    q = MADD(q, r, SET1(5.0000001201e-1f));
    *power = POW2(t);
    return MADD(MUL(q, r), r, r);
}

INLINE V NAME(expv)(V x)
{
    V power, part = NAME(expm1_parts)(x, &power);
    return MADD(power, part, power);
}

INLINE V NAME(expm1v)(V x)
{
    V power, part = NAME(expm1_parts)(x, &power);
    return MADD(power, part, SUBV(power, SET1(1.0f)));
}

/* a / b for b of 1 or more. Divisions of 16 floats are slow: an estimate of 1 / b that is good to 14 bits, and one
   Newton step on the quotient, give as many digits in a fraction of the time. */
INLINE V NAME(quotient)(V a, V b)
{
#if RLLB_NN_I_STAMP == RLLB_NN_I_AVX512
    V r = _mm512_maskz_rcp14_ps(0xffff, b), q = MUL(a, r);
    return MADD(_mm512_fnmadd_ps(b, q, a), r, q);
#else
    return DIVV(a, b);
#endif
}

INLINE V NAME(sigmoidv)(V x)
{
    return NAME(quotient)(SET1(1.0f), ADDV(SET1(1.0f), NAME(expv)(SUBV(ZERO(), x))));
}

/* tanh x = expm1(2x) / (expm1(2x) + 2): keeps its digits near zero. */
INLINE V NAME(tanhv)(V x)
{
    V e = NAME(expm1v)(SPLAT_MIN(40.0f, SPLAT_MAX(-40.0f, ADDV(x, x))));
    return NAME(quotient)(e, ADDV(e, SET1(2.0f)));
}

/* y = act(y) on n floats, n a multiple of 16. */
KERNEL void NAME(activate)(rllb_nn_activation kind, float *y, size_t n, float leak)
{
    size_t i;

    switch (kind) {
    case RLLB_NN_TANH:
        for (i = 0; i < n; i += VW) ST(y + i, NAME(tanhv)(LD(y + i)));
        break;
    case RLLB_NN_SIGMOID:
        for (i = 0; i < n; i += VW) ST(y + i, NAME(sigmoidv)(LD(y + i)));
        break;
    case RLLB_NN_ELU:
        for (i = 0; i < n; i += VW) {
            V x = LD(y + i);
            ST(y + i, SEL(GT(x, ZERO()), x, NAME(expm1v)(x)));
        }
        break;
    case RLLB_NN_RELU:
        for (i = 0; i < n; i += VW) ST(y + i, SPLAT_MAX(0.0f, LD(y + i)));
        break;
    case RLLB_NN_LEAKY_RELU:
        for (i = 0; i < n; i += VW) ST(y + i, MAXV(MUL(LD(y + i), SET1(leak)), LD(y + i)));
        break;
    case RLLB_NN_ACTIVATION_DEFAULT:
    case RLLB_NN_LINEAR:
    case RLLB_NN_ACTIVATION_NUM: break;
    }
}

/* d = d * act'(x), written by the output y = act(x). */
KERNEL void NAME(activate_back)(rllb_nn_activation kind, const float *y, float *d, size_t n, float leak)
{
    size_t i;

    switch (kind) {
    case RLLB_NN_TANH:
        for (i = 0; i < n; i += VW) ST(d + i, MUL(LD(d + i), SUBV(SET1(1.0f), MUL(LD(y + i), LD(y + i)))));
        break;
    case RLLB_NN_SIGMOID:
        for (i = 0; i < n; i += VW) ST(d + i, MUL(LD(d + i), MUL(LD(y + i), SUBV(SET1(1.0f), LD(y + i)))));
        break;
    case RLLB_NN_ELU:
        for (i = 0; i < n; i += VW) {
            V v = LD(y + i);
            ST(d + i, MUL(LD(d + i), SEL(GT(v, ZERO()), SET1(1.0f), ADDV(v, SET1(1.0f)))));
        }
        break;
    case RLLB_NN_RELU:
    case RLLB_NN_LEAKY_RELU:
        for (i = 0; i < n; i += VW) {
            ST(d + i, MUL(LD(d + i), SEL(GT(LD(y + i), ZERO()), SET1(1.0f), SET1(leak))));
        }
        break;
    case RLLB_NN_ACTIVATION_DEFAULT:
    case RLLB_NN_LINEAR:
    case RLLB_NN_ACTIVATION_NUM: break;
    }
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

/* Set in the lanes of vector j of panel p that hold a column, clear in those past `cols`. */
INLINE MASK NAME(inside)(int32_t cols, int32_t p, int j)
{
    return GT(SET1((float)(cols - p * 16)), LD(rllb_i_lane_numbers + j * VW));
}

/* Softmax (or its logarithm) of each row, in place; lanes past `cols` become zero. */
KERNEL void NAME(softmax)(float *x, int32_t rows, int32_t cols, int logarithm)
{
    ptrdiff_t panel = (ptrdiff_t)rows * 16;
    int32_t panels = (cols + 15) / 16, r, p;
    int j;

    for (r = 0; r < rows; r++) {
        float *row = x + (ptrdiff_t)r * 16, most = row[0], total;
        V sum[PANEL_VECTORS], shift;
        for (p = 0; p < cols; p++) {
            float v = row[(p / 16) * panel + p % 16];
            if (v > most) most = v;
        }
        shift = SET1(most);
        for (j = 0; j < PANEL_VECTORS; j++) sum[j] = ZERO();
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) {
                float *at = row + p * panel + j * VW;
                V z = SUBV(LD(at), shift), e = SEL(NAME(inside)(cols, p, j), NAME(expv)(z), ZERO());
                sum[j] = ADDV(sum[j], e);
                ST(at, logarithm ? z : e);
            }
        }
        total = NAME(lanes)(sum);
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) {
                float *at = row + p * panel + j * VW;
                V v = logarithm ? SUBV(LD(at), SET1(logf(total))) : DIVV(LD(at), SET1(total));
                ST(at, SEL(NAME(inside)(cols, p, j), v, ZERO()));
            }
        }
    }
}

/* Layer normalisation (Ba et al. 2016, Eq. 3 and 4): n = (z - mean) / sqrt(var + eps), y = gain * n + shift. */
KERNEL void NAME(norm)(const float *z, int32_t rows, int32_t cols, const float *gain, const float *shift, float *n,
                       float *y, float *inverse)
{
    ptrdiff_t panel = (ptrdiff_t)rows * 16;
    int32_t panels = (cols + 15) / 16, r, p;
    int j;

    for (r = 0; r < rows; r++) {
        ptrdiff_t row = (ptrdiff_t)r * 16;
        V sum[PANEL_VECTORS], mean;
        for (j = 0; j < PANEL_VECTORS; j++) sum[j] = ZERO();
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) sum[j] = ADDV(sum[j], LD(z + row + p * panel + j * VW));
        }
        mean = SET1(NAME(lanes)(sum) / (float)cols);
        for (j = 0; j < PANEL_VECTORS; j++) sum[j] = ZERO();
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) {
                V d = SUBV(LD(z + row + p * panel + j * VW), mean);
                d = SEL(NAME(inside)(cols, p, j), d, ZERO());
                sum[j] = MADD(d, d, sum[j]);
                ST(n + row + p * panel + j * VW, d);
            }
        }
        inverse[r] = 1.0f / sqrtf(NAME(lanes)(sum) / (float)cols + 1e-5f);
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) {
                ptrdiff_t at = row + p * panel + j * VW;
                V v = MUL(LD(n + at), SET1(inverse[r]));
                ST(n + at, v);
                ST(y + at, MADD(v, LD(gain + p * 16 + j * VW), LD(shift + p * 16 + j * VW)));
            }
        }
    }
}

/* d: in the gradient by y, out the gradient by z. gain_grad and shift_grad are overwritten. */
KERNEL void NAME(norm_back)(float *d, const float *n, int32_t rows, int32_t cols, const float *gain,
                            const float *inverse, float *gain_grad, float *shift_grad)
{
    ptrdiff_t panel = (ptrdiff_t)rows * 16;
    int32_t panels = (cols + 15) / 16, r, p;
    int j;

    for (p = 0; p < panels; p++) {
        for (j = 0; j < PANEL_VECTORS; j++) {
            V by_gain = ZERO(), by_shift = ZERO();
            for (r = 0; r < rows; r++) {
                ptrdiff_t at = (ptrdiff_t)r * 16 + p * panel + j * VW;
                by_gain = MADD(LD(d + at), LD(n + at), by_gain);
                by_shift = ADDV(by_shift, LD(d + at));
            }
            ST(gain_grad + p * 16 + j * VW, by_gain);
            ST(shift_grad + p * 16 + j * VW, by_shift);
        }
    }
    for (r = 0; r < rows; r++) {
        ptrdiff_t row = (ptrdiff_t)r * 16;
        V sum[PANEL_VECTORS], along[PANEL_VECTORS], mean, slope;
        for (j = 0; j < PANEL_VECTORS; j++) sum[j] = along[j] = ZERO();
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) {
                ptrdiff_t at = row + p * panel + j * VW;
                V g = MUL(LD(d + at), LD(gain + p * 16 + j * VW));
                sum[j] = ADDV(sum[j], g);
                along[j] = MADD(g, LD(n + at), along[j]);
                ST(d + at, g);
            }
        }
        mean = SET1(NAME(lanes)(sum) / (float)cols);
        slope = SET1(NAME(lanes)(along) / (float)cols);
        for (p = 0; p < panels; p++) {
            for (j = 0; j < PANEL_VECTORS; j++) {
                ptrdiff_t at = row + p * panel + j * VW;
                V g = SUBV(SUBV(LD(d + at), mean), MUL(LD(n + at), slope));
                ST(d + at, SEL(NAME(inside)(cols, p, j), MUL(g, SET1(inverse[r])), ZERO()));
            }
        }
    }
}

/* ---- gated recurrent units ----------------------------------------------------------------------------------- */

/* One step of `rows` sequences, `panels` panels of units. gates: r, z, n one behind the other, each `panels` panels
   that are `gates_panel` floats apart; in, what the inputs give to them; out, when training, the gates. h_gates: what
   the state gives to them; h: the state, old in, new out; both of this step only. y: the new state, and, for the way
   back or NULL, what the state gave to n; panels `panel` apart. */
KERNEL void NAME(gru)(float *gates, ptrdiff_t gates_panel, const float *h_gates, float *h, float *y, float *given,
                      ptrdiff_t panel, int32_t rows, int32_t panels)
{
    ptrdiff_t own = (ptrdiff_t)rows * 16, i;
    int32_t p;

    for (p = 0; p < panels; p++) {
        float *r = gates + p * gates_panel, *z = r + panels * gates_panel, *n = z + panels * gates_panel;
        const float *hr = h_gates + p * own, *hz = hr + panels * own, *hn = hz + panels * own;
        for (i = 0; i < own; i += VW) {
            V reset = NAME(sigmoidv)(ADDV(LD(r + i), LD(hr + i))), keep = NAME(sigmoidv)(ADDV(LD(z + i), LD(hz + i)));
            V from_h = LD(hn + i), old = LD(h + p * own + i);
            V fresh = NAME(tanhv)(MADD(reset, from_h, LD(n + i))), state = MADD(keep, SUBV(old, fresh), fresh);
            ST(h + p * own + i, state);
            ST(y + p * panel + i, state);
            if (!given) continue;
            ST(r + i, reset);
            ST(z + i, keep);
            ST(n + i, fresh);
            ST(given + p * panel + i, from_h);
        }
    }
}

/* The same step backwards. gates and given: in as above, out the gradients by what the inputs gave to the gates, and by
   what the state gave to n (to r and z it is the same). before: the old state, panels `before_panel` apart. dh: in the
   gradient by the new state from later steps, out its part by the old state that does not go through the gates. */
KERNEL void NAME(gru_back)(float *gates, float *given, const float *before, ptrdiff_t before_panel, const float *dy,
                           ptrdiff_t panel, float *dh, int32_t rows, int32_t panels)
{
    ptrdiff_t own = (ptrdiff_t)rows * 16, i;
    V one = SET1(1.0f);
    int32_t p;

    for (p = 0; p < panels; p++) {
        float *r = gates + p * panel, *z = r + panels * panel, *n = z + panels * panel, *g = given + p * panel;
        for (i = 0; i < own; i += VW) {
            V reset = LD(r + i), keep = LD(z + i), fresh = LD(n + i), old = LD(before + p * before_panel + i);
            V d = ADDV(LD(dh + p * own + i), LD(dy + p * panel + i)), left = SUBV(one, keep);
            V dn = MUL(MUL(d, left), SUBV(one, MUL(fresh, fresh)));
            ST(dh + p * own + i, MUL(d, keep));
            ST(r + i, MUL(MUL(dn, LD(g + i)), MUL(reset, SUBV(one, reset))));
            ST(z + i, MUL(MUL(d, SUBV(old, fresh)), MUL(keep, left)));
            ST(n + i, dn);
            ST(g + i, MUL(dn, reset));
        }
    }
}

/* ---- parameters ---------------------------------------------------------------------------------------------- */

KERNEL float NAME(square_sum)(const float *x, size_t n)
{
    V a[PANEL_VECTORS], b[PANEL_VECTORS];
    size_t i;
    int j;

    for (j = 0; j < PANEL_VECTORS; j++) a[j] = b[j] = ZERO();
    for (i = 0; i + 16 < n; i += 32) {
        RLLB_NN_I_UNROLL
        for (j = 0; j < PANEL_VECTORS; j++) {
            a[j] = MADD(LD(x + i + j * VW), LD(x + i + j * VW), a[j]);
            b[j] = MADD(LD(x + i + 16 + j * VW), LD(x + i + 16 + j * VW), b[j]);
        }
    }
    if (i < n) {
        for (j = 0; j < PANEL_VECTORS; j++) a[j] = MADD(LD(x + i + j * VW), LD(x + i + j * VW), a[j]);
    }
    for (j = 0; j < PANEL_VECTORS; j++) a[j] = ADDV(a[j], b[j]);
    return NAME(lanes)(a);
}

/* to += share * (from - to) */
KERNEL void NAME(blend)(float *to, const float *from, size_t n, float share)
{
    size_t i;
    for (i = 0; i < n; i += VW) ST(to + i, MADD(SET1(share), SUBV(LD(from + i), LD(to + i)), LD(to + i)));
}

/* m / (sqrt(v) * scale + eps) for v of 1e-36 or more. Where the set has estimates of 1 / sqrt and 1 / x, one Newton
   step brings them to full float precision in a fraction of the time that root and quotient take. */
INLINE V NAME(ratio)(V m, V v, V scale, V eps)
{
#if RLLB_NN_I_STAMP == RLLB_NN_I_AVX512
    V r = _mm512_maskz_rsqrt14_ps(0xffff, v), root = MUL(v, r), below;
    root = MUL(root, _mm512_fnmadd_ps(root, MUL(SET1(0.5f), r), SET1(1.5f)));
    scale = MADD(root, scale, eps);
    below = _mm512_maskz_rcp14_ps(0xffff, scale);
    return MUL(MUL(m, below), _mm512_fnmadd_ps(scale, below, SET1(2.0f)));
#elif RLLB_NN_I_STAMP == RLLB_NN_I_AVX2
    V r = _mm256_rsqrt_ps(v), root = MUL(v, r), below;
    root = MUL(root, _mm256_fnmadd_ps(root, MUL(SET1(0.5f), r), SET1(1.5f)));
    scale = MADD(root, scale, eps);
    below = _mm256_rcp_ps(scale);
    return MUL(MUL(m, below), _mm256_fnmadd_ps(scale, below, SET1(2.0f)));
#else
    return DIVV(m, MADD(SQRTV(v), scale, eps));
#endif
}

/* x, but nothing smaller than a normal number: a mean that decays for long would become subnormal and a hundred times
   slower. The sum with 1e-30 leaves zero or a multiple of its last digit, 7.5e-38; from 1e-22 on x is unchanged. */
INLINE V NAME(flush)(V x)
{
    return SUBV(ADDV(x, SET1(1e-30f)), SET1(1e-30f));
}

/* One optimiser step on n floats, n a multiple of 16; the coefficients say what each does. */
KERNEL void NAME(descend)(const rllb_i_descent *c, float *p, const float *g, float *m, float *v, size_t n)
{
    V grad_scale = SET1(c->grad_scale), decay = SET1(c->decay), keep = SET1(c->keep), step = SET1(-c->step);
    V beta1 = SET1(c->beta1), rest1 = SET1(1 - c->beta1), beta2 = SET1(c->beta2), rest2 = SET1(1 - c->beta2);
    V scale = SET1(c->scale), eps = SET1(c->eps), least = SET1(1e-36f); /* of a mean square: see ratio */
    size_t i;

    switch (c->kind) {
    case RLLB_NN_SGD:
        for (i = 0; i < n; i += VW) {
            V w = LD(p + i), d = MADD(decay, w, MUL(LD(g + i), grad_scale));
            V mean = NAME(flush)(MADD(beta1, LD(m + i), d));
            ST(m + i, mean);
            ST(p + i, MADD(step, mean, w));
        }
        break;
    case RLLB_NN_RMSPROP:
        for (i = 0; i < n; i += VW) {
            V w = LD(p + i), d = MADD(decay, w, MUL(LD(g + i), grad_scale));
            V square = MAXV(least, MADD(beta2, LD(v + i), MUL(rest2, MUL(d, d))));
            ST(v + i, square);
            ST(p + i, MADD(step, NAME(ratio)(d, square, scale, eps), w));
        }
        break;
    case RLLB_NN_ADAM: /* AdamW keeps less than all of the weight and decays no gradient */
    case RLLB_NN_ADAMW:
    case RLLB_NN_OPT_DEFAULT:
    case RLLB_NN_OPT_NUM:
        for (i = 0; i < n; i += VW) {
            V w = LD(p + i), d = MADD(decay, w, MUL(LD(g + i), grad_scale));
            V mean = NAME(flush)(MADD(beta1, LD(m + i), MUL(rest1, d)));
            V square = MAXV(least, MADD(beta2, LD(v + i), MUL(rest2, MUL(d, d))));
            ST(m + i, mean);
            ST(v + i, square);
            ST(p + i, MADD(step, NAME(ratio)(mean, square, scale, eps), MUL(w, keep)));
        }
        break;
    }
}

static const rllb_nn_kernels NAME(kernels) = {
    RLLB_NN_I_SET,       NAME(multiply_nn), NAME(multiply_tn), NAME(slice_nn), NAME(slice_tn),
    NAME(vector),        NAME(dots),        NAME(transpose),   NAME(column_sums), NAME(activate),
    NAME(activate_back), NAME(softmax),     NAME(norm),        NAME(norm_back),   NAME(gru),
    NAME(gru_back),      NAME(square_sum),  NAME(blend),       NAME(descend)
};

#undef ADDV
#undef DIVV
#undef GT
#undef INLINE
#undef KERNEL
#undef LD
#undef MADD
#undef MASK
#undef MAXV
#undef MINV
#undef MUL
#undef NAME
#undef PANELS_AT_ONCE
#undef PANEL_VECTORS
#undef POW2
#undef RLLB_NN_I_NAME
#undef RLLB_NN_I_SET
#undef RLLB_NN_I_TARGET
#undef SEL
#undef SET1
#undef SPLAT_MAX
#undef SPLAT_MIN
#undef SQRTV
#undef ST
#undef SUBV
#undef TILE_ROWS
#undef TILE_VECTORS
#undef V
#undef VW
#undef ZERO

#endif /* RLLB_NN_I_STAMP */

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
