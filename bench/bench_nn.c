/* How fast the learners compute, one thread. Build from the root of the tree with
       cc -std=c99 -D_POSIX_C_SOURCE=200809L -O3 -I. -Ibench bench/bench_nn.c -lm -o bench_nn
   Every job goes through the public functions with sizes known at run time only. The limit of a time is what its
   multiplications and additions would take at the FP32 peak of this core, measured in turn with the job.
       fp32_peak    GFLOP/s of independent fused multiply-adds in registers, widest vectors of this processor
       J1_9, J1_32  forward, one row, ReLU: 9-64-64-1 and 32-64-64-1; limit also counts no load of weights
       J1_9_load    the same time against the time its weights take to come in from the first-level cache
       J2a          batch 64, 3-128-128-3: forward, MSE, backward, Adam
       J2b          a DQN update: J2a on the TD error of the taken actions, after a forward pass of the target network
       J2b_agent    rllb_nn_dqn_update: J2b with sampling from a full replay memory, clipping, soft target update
       J2b_adam     the part of J2a that is Adam: 17,411 parameters; no limit
       train_dqn, train_dueling    seconds for 80,000 updates of the three-server study (batch 128), 800 episodes
                    of 100 steps; limit: the same at the peak
       J3a          a GRU's step, one row, 32 -> 128 and 3 outputs; limit: its parameters at the bandwidth of the
                    second-level cache, by a loop that loads as many bytes from there
       J3b          back-propagation through time: 32 sequences of 16 steps, GRU 32 -> 128, dense 3, MSE, Adam
       J4           a discrete SAC update: batch 64, 3-128-128-3, two critics, two targets, temperature
       J5           a QMIX update: 32 episodes of 16 steps, 4 agents of one network 44-64-GRU 64-8 (32 observed, 8 of
                    the last action, 4 of identity), state 64, mixer 32 wide with 64 hidden, Double, RMSprop
       J4_agent, J5_agent    the same with sampling from the replay memory
       J5_act       what those 4 agents do next; limit: the goal of 3 us
   Multiplications and additions are counted where the algorithm needs them: forward and, for parameters and for what
   is passed on, backward; none to the observations, none of the GRU's state before the first step, none of the losses,
   activations, optimisers, or of steps whose gradient is zero.
   In a build without intrinsics (RLLB_NN_NO_SIMD) only J2b is measured, as J2b_scalar. */

#define RLLB_STATIC /* J4 and J5 call an update without its sampling, which is no public function */
#include "rllb_nn.h"

#include "bench.h"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define YARDSTICK_X86 1
#endif

enum { ROWS = 64, IN = 3, HIDDEN = 128, OUT = 3 };
enum { SEQUENCES = 32, STEPS = 16, GRU_IN = 32, GRU = 128 };
enum { AGENTS = 4, TEAM_OBS = 32, CHOICES = 8, TEAM_UNITS = 64, STATES = 64, EMBED = 32, HYPER = 64 };

/* ---- yardsticks: 12 chains of dependent multiply-adds hide their latency; 8 loads a turn ------------------------- */

typedef struct yardstick {
    double flop;         /* of one call of peak */
    int bytes;           /* of one call of load, a multiple of 512 */
    const float *memory; /* so many, aligned to 64 */
} yardstick;

enum { PEAK_TURNS = 2000, CHAINS = 12, LOAD_BYTES = 16384, LOAD_BYTES_MAX = 1 << 20 };

#ifdef YARDSTICK_X86
#define CHAIN(op)                                                                                                \
    __asm__ volatile(op " %12, %13, %0\n" op " %12, %13, %1\n" op " %12, %13, %2\n" op " %12, %13, %3\n" op      \
                        " %12, %13, %4\n" op " %12, %13, %5\n" op " %12, %13, %6\n" op " %12, %13, %7\n" op      \
                        " %12, %13, %8\n" op " %12, %13, %9\n" op " %12, %13, %10\n" op " %12, %13, %11\n"       \
                     : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5), "+v"(c6), "+v"(c7), "+v"(c8), \
                       "+v"(c9), "+v"(c10), "+v"(c11)                                                            \
                     : "v"(a), "v"(b))

__attribute__((target("avx512f"))) static void peak512(void *user)
{
    __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f), c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a,
           c6 = a, c7 = a, c8 = a, c9 = a, c10 = a, c11 = a;
    int i;

    for (i = 0; i < PEAK_TURNS; i++) CHAIN("vfmadd231ps");
    ((yardstick *)user)->flop = 2.0 * 16 * CHAINS * PEAK_TURNS;
}

__attribute__((target("avx2,fma"))) static void peak256(void *user)
{
    __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f), c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a,
           c6 = a, c7 = a, c8 = a, c9 = a, c10 = a, c11 = a;
    int i;

    for (i = 0; i < PEAK_TURNS; i++) CHAIN("vfmadd231ps");
    ((yardstick *)user)->flop = 2.0 * 8 * CHAINS * PEAK_TURNS;
}

__attribute__((target("avx512f"))) static void load512(void *user)
{
    const char *p = (const char *)((yardstick *)user)->memory;
    int i, bytes = ((yardstick *)user)->bytes;

    for (i = 0; i < bytes; i += 512) {
        __asm__ volatile("vmovaps (%0), %%zmm0\n vmovaps 64(%0), %%zmm1\n vmovaps 128(%0), %%zmm2\n"
                         "vmovaps 192(%0), %%zmm3\n vmovaps 256(%0), %%zmm4\n vmovaps 320(%0), %%zmm5\n"
                         "vmovaps 384(%0), %%zmm6\n vmovaps 448(%0), %%zmm7\n"
                         :
                         : "r"(p + i)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory");
    }
}

__attribute__((target("avx2"))) static void load256(void *user)
{
    const char *p = (const char *)((yardstick *)user)->memory;
    int i, bytes = ((yardstick *)user)->bytes;

    for (i = 0; i < bytes; i += 256) {
        __asm__ volatile("vmovaps (%0), %%ymm0\n vmovaps 32(%0), %%ymm1\n vmovaps 64(%0), %%ymm2\n"
                         "vmovaps 96(%0), %%ymm3\n vmovaps 128(%0), %%ymm4\n vmovaps 160(%0), %%ymm5\n"
                         "vmovaps 192(%0), %%ymm6\n vmovaps 224(%0), %%ymm7\n"
                         :
                         : "r"(p + i)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory");
    }
}
#endif

/* Other processors: what the compiler makes of plain multiply-adds on an array; a limit less sharp. */
static void peak_plain(void *user)
{
    float c[4 * CHAINS];
    int i, j;

    for (j = 0; j < 4 * CHAINS; j++) c[j] = (float)j;
    for (i = 0; i < PEAK_TURNS; i++) {
        for (j = 0; j < 4 * CHAINS; j++) c[j] = c[j] * 0.999f + 1e-3f;
    }
    BENCH_KEEP(c);
    ((yardstick *)user)->flop = 2.0 * 4 * CHAINS * PEAK_TURNS;
}

static void load_plain(void *user)
{
    const float *p = ((yardstick *)user)->memory;
    float sum[16] = { 0 };
    int i, j, floats = ((yardstick *)user)->bytes / 4;

    for (i = 0; i < floats; i += 16) {
        for (j = 0; j < 16; j++) sum[j] += p[i + j];
    }
    BENCH_KEEP(sum);
}

static bench_fn peak_of_this_core(bench_fn *load)
{
#ifdef YARDSTICK_X86
    if (__builtin_cpu_supports("avx512f")) {
        *load = load512;
        return peak512;
    }
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) {
        *load = load256;
        return peak256;
    }
#endif
    *load = load_plain;
    return peak_plain;
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

typedef struct pass {
    rllb_nn_net *net, *target;
    rllb_nn_work *work, *other;
    rllb_nn_opt *opt;
    rllb_nn_dqn *agent;
    rllb_nn_sac *sac;
    rllb_nn_qmix *qmix;
    float *gradient;
    rllb_nn_pass sequence; /* of the GRU */
    float seen[SEQUENCES * STEPS * GRU_IN], state[SEQUENCES * GRU], out[SEQUENCES * STEPS * OUT];
    float wanted[SEQUENCES * STEPS * OUT], d_out[SEQUENCES * STEPS * OUT];
    float team_obs[AGENTS * TEAM_OBS], team_action[AGENTS];
    float x[ROWS * IN], next[ROWS * IN], y[ROWS * OUT], want[ROWS * OUT], q_next[ROWS * OUT], d[ROWS * OUT];
    float reward[ROWS], discount[ROWS], one[64], answer[1];
    int32_t action[ROWS];
} pass;

static void forward_one(void *user)
{
    pass *p = (pass *)user;

    rllb_nn_forward(p->net, p->work, p->one, 1, p->answer);
    BENCH_KEEP(p);
}

static void regress(void *user)
{
    pass *p = (pass *)user;

    rllb_nn_forward(p->net, p->work, p->x, ROWS, p->y);
    rllb_nn_loss_mean(RLLB_NN_MSE, 0, p->y, p->want, NULL, ROWS * OUT, p->d);
    rllb_nn_backward(p->net, p->work, p->d, ROWS, p->gradient, NULL);
    rllb_nn_opt_step(p->opt, rllb_nn_net_data(p->net), p->gradient, NULL);
}

static void q_learn(void *user)
{
    pass *p = (pass *)user;
    int i, a;

    rllb_nn_forward(p->target, p->other, p->next, ROWS, p->q_next);
    rllb_nn_forward(p->net, p->work, p->x, ROWS, p->y);
    memset(p->d, 0, sizeof p->d);
    for (i = 0; i < ROWS; i++) {
        const float *q = p->q_next + i * OUT;
        float most = q[0];
        for (a = 1; a < OUT; a++) most = q[a] > most ? q[a] : most;
        a = p->action[i];
        p->d[i * OUT + a] = 2 * (p->y[i * OUT + a] - (p->reward[i] + p->discount[i] * most)) / ROWS;
    }
    rllb_nn_backward(p->net, p->work, p->d, ROWS, p->gradient, NULL);
    rllb_nn_opt_step(p->opt, rllb_nn_net_data(p->net), p->gradient, NULL);
}

static void adam_only(void *user)
{
    pass *p = (pass *)user;

    rllb_nn_opt_step(p->opt, rllb_nn_net_data(p->net), p->gradient, NULL);
}

static void agent_update(void *user)
{
    if (rllb_nn_dqn_update(((pass *)user)->agent, NULL) != RLLB_OK) exit(1);
}

static void recurrent_step(void *user)
{
    pass *p = (pass *)user;

    rllb_nn_pass_forward(p->net, p->other, &p->sequence, p->out);
    BENCH_KEEP(p);
}

static void through_time(void *user)
{
    pass *p = (pass *)user;

    rllb_nn_pass_forward(p->net, p->work, &p->sequence, p->out);
    rllb_nn_loss_mean(RLLB_NN_MSE, 0, p->out, p->wanted, NULL, SEQUENCES * STEPS * OUT, p->d_out);
    rllb_nn_pass_backward(p->net, p->work, &p->sequence, p->d_out, p->gradient, NULL);
    rllb_nn_opt_step(p->opt, rllb_nn_net_data(p->net), p->gradient, NULL);
}

static void sac_update(void *user)
{
    if (rllb_nn_sac_update(((pass *)user)->sac, NULL) != RLLB_OK) exit(1);
}

static void sac_learn(void *user)
{
    rllb_nn_sac_report report;

    memset(&report, 0, sizeof report);
    if (rllb_i_sac_learn(((pass *)user)->sac, &report) != RLLB_OK) exit(1);
}

static void qmix_update(void *user)
{
    if (rllb_nn_qmix_update(((pass *)user)->qmix, NULL) != RLLB_OK) exit(1);
}

static void qmix_learn(void *user)
{
    rllb_nn_qmix_report report;

    memset(&report, 0, sizeof report);
    if (rllb_i_qmix_learn(((pass *)user)->qmix, &report) != RLLB_OK) exit(1);
}

static void team_act(void *user)
{
    pass *p = (pass *)user;

    if (rllb_nn_qmix_act(p->qmix, p->team_obs, 0, false, p->team_action) != RLLB_OK) exit(1);
    BENCH_KEEP(p);
}

static void *need(void *object, const char *what)
{
    if (!object) {
        fprintf(stderr, "bench_nn: no %s\n", what);
        exit(1);
    }
    return object;
}

static float *floats(size_t bytes)
{
    void *memory = NULL;

    return (float *)need(posix_memalign(&memory, 64, bytes) == 0 ? memory : NULL, "memory");
}

static void open_nets(pass *p, rllb_nn_net_desc *d, int32_t rows, int32_t steps)
{
    rllb_nn_opt_desc o;
    size_t bytes;

    memset(&o, 0, sizeof o);
    o.lr.from = 1e-6; /* parameters stay where they are: a job repeated a million times must not drift into NaN */
    p->net = (rllb_nn_net *)need(rllb_nn_net_create(d), "network");
    p->target = (rllb_nn_net *)need(rllb_nn_net_create(d), "network");
    p->work = (rllb_nn_work *)need(rllb_nn_pass_create(p->net, rows, steps, 1, true), "work");
    p->other = (rllb_nn_work *)need(rllb_nn_pass_create(p->net, rows, steps, 1, false), "work");
    p->opt = (rllb_nn_opt *)need(rllb_nn_opt_create(&o, rllb_nn_net_floats(p->net)), "optimiser");
    bytes = rllb_nn_net_floats(p->net) * sizeof(float);
    p->gradient = floats(bytes);
    memset(p->gradient, 0, bytes);
}

static void close_nets(pass *p)
{
    rllb_nn_net_destroy(p->net);
    rllb_nn_net_destroy(p->target);
    rllb_nn_work_destroy(p->work);
    rllb_nn_work_destroy(p->other);
    rllb_nn_opt_destroy(p->opt);
    free(p->gradient);
}

static double multiply_adds(int inputs, int h1, int h2, int outputs)
{
    return (double)inputs * h1 + (double)h1 * h2 + (double)h2 * outputs;
}

/* Time of `fn` beside the time its arithmetic would take at the peak. */
static void against_peak(bench *b, const char *job, bench_fn fn, pass *p, double flop, double scale, const char *unit,
                         bench_fn peak, yardstick *yard)
{
    bench_sample t;

    if (!bench_wanted(b, job)) return;
    t = bench_time(b, fn, p, peak, yard);
    bench_row(b, job, t.job_s * scale, unit, t.yardstick_s / yard->flop * flop * scale, BENCH_LESS_IS_BETTER);
}

static void measure_serving(bench *b, pass *p, bench_fn peak, bench_fn load, yardstick *yard)
{
    rllb_nn_net_desc d;
    int inputs;

    for (inputs = 9; inputs <= 32; inputs += 23) {
        double weights = multiply_adds(inputs, 64, 64, 1);
        rllb_nn_net_desc_default(&d);
        d.inputs = inputs;
        d.outputs = 1;
        d.seed = b->seed;
        open_nets(p, &d, 1, 1);
        against_peak(b, inputs == 9 ? "J1_9" : "J1_32", forward_one, p, 2 * weights, 1e9, "ns", peak, yard);
        if (inputs == 9 && bench_wanted(b, "J1_9_load")) {
            bench_sample t;
            yard->bytes = LOAD_BYTES;
            t = bench_time(b, forward_one, p, load, yard);
            bench_row(b, "J1_9_load", t.job_s * 1e9, "ns", t.yardstick_s / LOAD_BYTES * weights * 4 * 1e9,
                      BENCH_LESS_IS_BETTER);
        }
        close_nets(p);
    }
}

static void measure_learning(bench *b, pass *p, bool scalar, bench_fn peak, yardstick *yard)
{
    double forward = 2 * ROWS * multiply_adds(IN, HIDDEN, HIDDEN, OUT);
    double backward = forward + 2 * ROWS * (multiply_adds(IN, HIDDEN, HIDDEN, OUT) - IN * HIDDEN);
    rllb_nn_net_desc d;

    rllb_nn_net_desc_default(&d);
    d.inputs = IN;
    d.outputs = OUT;
    d.hidden[0] = d.hidden[1] = HIDDEN;
    d.seed = b->seed;
    open_nets(p, &d, ROWS, 1);
    if (scalar) {
        against_peak(b, "J2b_scalar", q_learn, p, 2 * forward + backward, 1e6, "us", peak, yard);
    } else {
        against_peak(b, "J2a", regress, p, forward + backward, 1e6, "us", peak, yard);
        against_peak(b, "J2b", q_learn, p, 2 * forward + backward, 1e6, "us", peak, yard);
        if (bench_wanted(b, "J2b_adam")) {
            bench_row(b, "J2b_adam", bench_time(b, adam_only, p, NULL, NULL).job_s * 1e6, "us", (double)NAN,
                      BENCH_LESS_IS_BETTER);
        }
    }
    close_nets(p);
}

/* A learner whose replay memory holds `count` made-up transitions. */
static rllb_nn_dqn *learner(int hidden, int dueling, int batch, int count, uint64_t seed)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    rllb_rng rng;
    float obs[IN], next[IN];
    int i, j;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = IN;
    d.net.outputs = OUT;
    d.net.hidden[0] = d.net.hidden[1] = hidden;
    d.net.dueling = dueling;
    d.batch = batch;
    d.seed = seed;
    agent = (rllb_nn_dqn *)need(rllb_nn_dqn_create(&d), "learner");
    rllb_rng_init(&rng, seed, 9);
    for (i = 0; i < count; i++) {
        for (j = 0; j < IN; j++) {
            obs[j] = rllb_rng_float(&rng);
            next[j] = rllb_rng_float(&rng);
        }
        rllb_nn_dqn_observe(agent, obs, rllb_rng_below(&rng, OUT), -rllb_rng_float(&rng), next, NULL, false, false);
    }
    return agent;
}

static void measure_agents(bench *b, pass *p, bench_fn peak, yardstick *yard)
{
    double plain = multiply_adds(IN, 64, 64, OUT), last = IN * 64; /* no gradient by the observation */
    double dueling = IN * 64 + 3.0 * 64 * 64 + 64 * OUT + 64;
    double forward = 2 * ROWS * multiply_adds(IN, HIDDEN, HIDDEN, OUT);
    double updates = 800 * 100;
    enum { BATCH = 128 };

    p->agent = learner(HIDDEN, 0, ROWS, 50000, b->seed);
    against_peak(b, "J2b_agent", agent_update, p, 4 * forward - 2 * ROWS * IN * HIDDEN, 1e6, "us", peak, yard);
    rllb_nn_dqn_destroy(p->agent);
    p->agent = learner(64, 0, BATCH, 50000, b->seed);
    against_peak(b, "train_dqn", agent_update, p, 2 * BATCH * (4 * plain - last), updates, "s", peak, yard);
    rllb_nn_dqn_destroy(p->agent);
    p->agent = learner(64, 64, BATCH, 50000, b->seed);
    against_peak(b, "train_dueling", agent_update, p, 2 * BATCH * (4 * dueling - last), updates, "s", peak, yard);
    rllb_nn_dqn_destroy(p->agent);
}

static void measure_recurrent(bench *b, pass *p, bench_fn peak, bench_fn load, yardstick *yard)
{
    double cells = SEQUENCES * STEPS, later = SEQUENCES * (STEPS - 1), into = 3.0 * GRU * GRU_IN;
    double carried = 3.0 * GRU * GRU, out = GRU * OUT;
    double forward = cells * (into + out) + later * carried, by_parameters = forward;
    double back = cells * out + later * carried;
    rllb_nn_net_desc d;

    rllb_nn_net_desc_default(&d);
    d.inputs = GRU_IN;
    d.outputs = OUT;
    d.hidden[0] = -1;
    d.gru = GRU;
    d.seed = b->seed;
    p->sequence.x = p->seen;
    p->sequence.rows = p->sequence.steps = 1;
    p->sequence.state = p->state;
    memset(p->state, 0, sizeof p->state);
    open_nets(p, &d, 1, 1);
    if (bench_wanted(b, "J3a")) {
        double bytes = (double)rllb_nn_net_floats(p->net) * sizeof(float);
        bench_sample t;
        yard->bytes = (int)bytes / 512 * 512;
        t = bench_time(b, recurrent_step, p, load, yard);
        bench_row(b, "J3a", t.job_s * 1e6, "us", t.yardstick_s / yard->bytes * bytes * 1e6, BENCH_LESS_IS_BETTER);
    }
    close_nets(p);
    p->sequence.rows = SEQUENCES;
    p->sequence.steps = STEPS;
    p->sequence.state = NULL;
    open_nets(p, &d, SEQUENCES, STEPS);
    against_peak(b, "J3b", through_time, p, 2 * (forward + by_parameters + back), 1e3, "ms", peak, yard);
    close_nets(p);
}

/* A soft actor-critic whose replay memory holds 500 made-up episodes. */
static rllb_nn_sac *soft_learner(uint64_t seed)
{
    rllb_nn_sac_desc d;
    rllb_nn_sac *s;
    rllb_nn_step step;
    rllb_rng rng;
    float obs[2][IN], action, reward;
    int i, j;

    rllb_nn_sac_desc_default(&d);
    d.space.observations = IN;
    d.space.choices = OUT;
    d.actor.hidden[0] = d.actor.hidden[1] = HIDDEN;
    d.batch = ROWS;
    d.replay.capacity = 50500;
    d.seed = seed;
    s = (rllb_nn_sac *)need(rllb_nn_sac_create(&d), "learner");
    rllb_rng_init(&rng, seed, 9);
    memset(obs, 0, sizeof obs);
    memset(&step, 0, sizeof step);
    step.action = &action;
    step.reward = &reward;
    for (i = 0; i < 50000; i++) {
        for (j = 0; j < IN; j++) obs[(i + 1) & 1][j] = rllb_rng_float(&rng);
        step.obs = obs[i & 1];
        step.next = obs[(i + 1) & 1];
        action = (float)rllb_rng_below(&rng, OUT);
        reward = -rllb_rng_float(&rng);
        step.truncated = i % 100 == 99;
        rllb_nn_sac_observe(s, &step);
    }
    return s;
}

/* Four agents that learn by QMIX, with 256 made-up episodes. */
static rllb_nn_qmix *team(uint64_t seed)
{
    rllb_nn_qmix_desc d;
    rllb_nn_qmix *q;
    rllb_nn_step step;
    rllb_rng rng;
    float obs[2][AGENTS * TEAM_OBS], state[2][STATES], action[AGENTS], reward[AGENTS];
    int i, j;

    rllb_nn_qmix_desc_default(&d);
    d.space.observations = TEAM_OBS;
    d.space.choices = CHOICES;
    d.space.last_action = d.space.agent_id = true;
    d.agents = AGENTS;
    d.net.hidden[0] = d.net.gru = TEAM_UNITS;
    d.mix = RLLB_NN_MIX_QMIX;
    d.states = STATES;
    d.embed = EMBED;
    d.hyper = HYPER;
    d.double_q = true;
    d.opt.kind = RLLB_NN_RMSPROP;
    d.opt.lr.from = 1e-6;
    d.opt.eps = 1e-5f;
    d.batch = SEQUENCES;
    d.replay.steps = STEPS;
    d.seed = seed;
    q = (rllb_nn_qmix *)need(rllb_nn_qmix_create(&d), "learner");
    rllb_rng_init(&rng, seed, 9);
    memset(&step, 0, sizeof step);
    step.action = action;
    step.reward = reward;
    memset(obs, 0, sizeof obs);
    memset(state, 0, sizeof state);
    for (i = 0; i < 256 * STEPS; i++) {
        int now = i & 1, next = 1 - now;
        for (j = 0; j < AGENTS * TEAM_OBS; j++) obs[next][j] = rllb_rng_float(&rng);
        for (j = 0; j < STATES; j++) state[next][j] = rllb_rng_float(&rng);
        for (j = 0; j < AGENTS; j++) {
            action[j] = (float)rllb_rng_below(&rng, CHOICES);
            reward[j] = -rllb_rng_float(&rng);
        }
        step.obs = obs[now];
        step.next = obs[next];
        step.state = state[now];
        step.next_state = state[next];
        step.terminated = i % STEPS == STEPS - 1;
        rllb_nn_qmix_observe(q, &step);
    }
    return q;
}

static void measure_soft(bench *b, pass *p, bench_fn peak, yardstick *yard)
{
    double forward = 2 * ROWS * multiply_adds(IN, HIDDEN, HIDDEN, OUT), backward = 2 * forward - 2 * ROWS * IN * HIDDEN;
    double flop = 8 * forward + 3 * backward; /* actor now and next, both targets, both critics twice; three learn */

    if (!bench_wanted(b, "J4") && !bench_wanted(b, "J4_agent")) return;
    p->sac = soft_learner(b->seed);
    against_peak(b, "J4_agent", sac_update, p, flop, 1e6, "us", peak, yard);
    sac_update(p); /* a batch lies there now */
    against_peak(b, "J4", sac_learn, p, flop, 1e6, "us", peak, yard);
    rllb_nn_sac_destroy(p->sac);
}

static void measure_team(bench *b, pass *p, bench_fn peak, yardstick *yard)
{
    double all = SEQUENCES * AGENTS * (STEPS + 1), learn = SEQUENCES * AGENTS * STEPS, units = TEAM_UNITS;
    double first = SEQUENCES * AGENTS, mixed = SEQUENCES * STEPS, in = TEAM_OBS + CHOICES + AGENTS;
    double dense = in * units + 3 * units * units + units * CHOICES, carried = 3 * units * units;
    double forward = all * dense + (all - first) * carried; /* twice: learning and target networks */
    double backward = learn * dense + (learn - first) * carried; /* by the parameters */
    double into = learn * (dense - in * units) + (learn - first) * carried;
    double hyper = 2 * STATES * HYPER + HYPER * (AGENTS + 1) * EMBED + 2 * STATES * EMBED + EMBED;
    double hyper_into = HYPER * (AGENTS + 1) * EMBED + EMBED;
    double flop = 2 * (2 * forward + backward + into + mixed * (3 * hyper + hyper_into));

    if (!bench_wanted(b, "J5") && !bench_wanted(b, "J5_agent") && !bench_wanted(b, "J5_act")) return;
    p->qmix = team(b->seed);
    against_peak(b, "J5_agent", qmix_update, p, flop, 1e3, "ms", peak, yard);
    qmix_update(p);
    against_peak(b, "J5", qmix_learn, p, flop, 1e3, "ms", peak, yard);
    if (bench_wanted(b, "J5_act")) {
        bench_row(b, "J5_act", bench_time(b, team_act, p, NULL, NULL).job_s * 1e6, "us", 3, BENCH_LESS_IS_BETTER);
    }
    rllb_nn_qmix_destroy(p->qmix);
}

int main(int argc, char **argv)
{
    static pass p;
    bench b;
    yardstick yard;
    bench_sample t;
    bench_fn peak, load;
    rllb_rng rng;
    float *memory;
    int i;
#ifdef RLLB_NN_NO_SIMD
    bool scalar = true;
#else
    bool scalar = false;
#endif

    bench_open(&b, argc, argv, "How fast the learners compute.");
    memory = floats(LOAD_BYTES_MAX);
    memset(memory, 0, LOAD_BYTES_MAX);
    yard.memory = memory;
    peak = peak_of_this_core(&load);
    rllb_rng_init(&rng, b.seed, 0);
    for (i = 0; i < ROWS * IN; i++) {
        p.x[i] = rllb_rng_float(&rng);
        p.next[i] = rllb_rng_float(&rng);
    }
    for (i = 0; i < ROWS * OUT; i++) p.want[i] = rllb_rng_float(&rng);
    for (i = 0; i < 64; i++) p.one[i] = rllb_rng_float(&rng);
    for (i = 0; i < SEQUENCES * STEPS * GRU_IN; i++) p.seen[i] = rllb_rng_float(&rng);
    for (i = 0; i < SEQUENCES * STEPS * OUT; i++) p.wanted[i] = rllb_rng_float(&rng);
    for (i = 0; i < AGENTS * TEAM_OBS; i++) p.team_obs[i] = rllb_rng_float(&rng);
    for (i = 0; i < ROWS; i++) {
        p.action[i] = rllb_rng_below(&rng, OUT);
        p.reward[i] = -rllb_rng_float(&rng);
        p.discount[i] = i % 10 ? 0.99f : 0;
    }
    if (!scalar && bench_wanted(&b, "fp32_peak")) {
        t = bench_time(&b, peak, &yard, NULL, NULL);
        bench_row(&b, "fp32_peak", yard.flop / t.job_s * 1e-9, "GFLOP/s", (double)NAN, BENCH_MORE_IS_BETTER);
    }
    printf("%-28s %12s\n", "kernels", rllb_nn_kernels_name(rllb_nn_kernels_query(RLLB_NN_ISA_DEFAULT, false)));
    if (!scalar) measure_serving(&b, &p, peak, load, &yard);
    measure_learning(&b, &p, scalar, peak, &yard);
    if (!scalar) {
        measure_agents(&b, &p, peak, &yard);
        measure_recurrent(&b, &p, peak, load, &yard);
        measure_soft(&b, &p, peak, &yard);
        measure_team(&b, &p, peak, &yard);
    }
    free(memory);
    return bench_close(&b);
}
