/* learners.c - the learners of rllb_nn.h on small tasks whose answer is known: Q-learning of agents on their own, VDN,
   QMIX, soft actor-critic; feed-forward and recurrent

   Shows the loop of several agents (rllb_nn_qmix_act, _observe, _update; rllb_nn_sac_*) away from any balancer, and
   whether a learner does what its paper says. Every task has settings under which it is learnt in seconds; --help lists
   what may be changed.

   Build:   make build/learners
   Run:     build/learners --task two-step --seeds 10 --out out/two-step
            build/learners --task all --seeds 10 --out out/learners      everything that is claimed; five CPU minutes
   Prints:  for each learner, how its best network fares on episodes it has not seen, and how many seeds solve the task
   Writes:  TASK.png (learning curves, outcomes), TASK-entropy.png (soft actor-critic), history.csv, results.json, and
            runs/NAME.safetensors: every run as it stands, to go on from with --resume

   two-step   Rashid et al. 2018, section on representational complexity: two agents; in the first step the first
              of them chooses a game; one pays 7 whatever they do, the other 8 if both take the risk, else 0 or 1
   matrix     the climbing game (Claus and Boutilier 1998): one step, not monotonic; for interest
   memory     a cue is seen once and asked for 8 steps later. Who does not remember it guesses
   cartpole   Barto, Sutton and Anderson 1983, as in the published benchmark: 500 steps at most; solved at 475
   pendulum   swing up with a torque too weak to do it at once, as in the published benchmark; continuous
   set        3, 7 or 24 servers that are 1, 2 or 4 times as fast, seen through noise; weights for them, by one network

   The network that did best in the checks on the way is judged once, on episodes kept for this; in the two games, where
   some check would see the best outcome by chance, the last one. Runs are processes; a
   run is its settings and its seed, so neither their number nor an interruption changes a byte of any file. */

#include "cluster.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

/* ---- worlds -------------------------------------------------------------------------------------------------- */

enum { AGENTS_MOST = 2, ITEMS_MOST = 24, SEEN_MOST = 24, STATES_MOST = 3, NUMBERS = 2 * ITEMS_MOST + 4 };
enum { GOES_ON, TERMINATED, TRUNCATED };
enum { X_STEP, X_EPISODE, X_WHICH, X_OWN }; /* steps of this episode; episodes; a case; then what a task needs */

/* All of a world is numbers and random state, so that a checkpoint holds it. */
typedef struct world {
    double x[NUMBERS];
    rllb_rng rng;
} world;

static void two_step_begin(world *w)
{
    w->x[X_WHICH] = 0;
}

static void two_step_see(const world *w, float *obs, float *state)
{
    int32_t i, now = (int32_t)w->x[X_WHICH];

    for (i = 0; i < 3; i++) obs[i] = obs[3 + i] = state[i] = i == now ? 1.0f : 0.0f;
}

static int two_step_step(world *w, const float *action, double *reward)
{
    int32_t risks = (action[0] > 0) + (action[1] > 0);

    *reward = 0;
    if (w->x[X_WHICH] == 0) { /* the first agent chooses */
        w->x[X_WHICH] = action[0] > 0 ? 2 : 1;
        return GOES_ON;
    }
    if (w->x[X_WHICH] == 1) *reward = 7;
    else *reward = risks == 2 ? 8 : risks;
    return TERMINATED;
}

static void matrix_begin(world *w)
{
    (void)w;
}

static void matrix_see(const world *w, float *obs, float *state)
{
    (void)w;
    obs[0] = obs[1] = state[0] = 1;
}

static int matrix_step(world *w, const float *action, double *reward)
{
    static const double pay[3][3] = { { 11, -30, 0 }, { -30, 7, 6 }, { 0, 0, 5 } };

    (void)w;
    *reward = pay[(int32_t)action[0]][(int32_t)action[1]];
    return TERMINATED;
}

enum { MEMORY_DELAY = 8 };

static void memory_begin(world *w)
{
    w->x[X_WHICH] = rllb_rng_below(&w->rng, 2);
}

static void memory_see(const world *w, float *obs, float *state)
{
    (void)state;
    obs[0] = w->x[X_STEP] > 0 ? 0.0f : w->x[X_WHICH] > 0 ? 1.0f : -1.0f;
    obs[1] = w->x[X_STEP] >= MEMORY_DELAY ? 1.0f : 0.0f; /* asked now */
}

static int memory_step(world *w, const float *action, double *reward)
{
    bool asked = w->x[X_STEP] >= MEMORY_DELAY, right = (action[0] > 0) == (w->x[X_WHICH] > 0);

    *reward = !asked ? 0 : right ? 1 : -1;
    return asked ? TERMINATED : GOES_ON;
}

enum { CART_X = X_OWN, CART_V, CART_ANGLE, CART_SPIN };

static void cartpole_begin(world *w)
{
    int32_t i;

    for (i = CART_X; i <= CART_SPIN; i++) w->x[i] = 0.1 * rllb_rng_double(&w->rng) - 0.05;
}

/* Scaled to about -1 ... 1 by the limits and by speeds that occur. */
static void cartpole_see(const world *w, float *obs, float *state)
{
    static const double scale[4] = { 2.4, 2, 0.21, 2.5 };
    int32_t i;

    (void)state;
    for (i = 0; i < 4; i++) obs[i] = (float)(w->x[CART_X + i] / scale[i]);
}

static int cartpole_step(world *w, const float *action, double *reward)
{
    const double gravity = 9.8, cart = 1, pole = 0.1, half_length = 0.5, tau_s = 0.02, total = cart + pole;
    double *x = w->x, sine = sin(x[CART_ANGLE]), cosine = cos(x[CART_ANGLE]), force = action[0] > 0 ? 10 : -10;
    double push = (force + pole * half_length * x[CART_SPIN] * x[CART_SPIN] * sine) / total;
    double spin_up = (gravity * sine - cosine * push) / (half_length * (4.0 / 3 - pole * cosine * cosine / total));
    double speed_up = push - pole * half_length * spin_up * cosine / total;

    x[CART_X] += tau_s * x[CART_V];
    x[CART_V] += tau_s * speed_up;
    x[CART_ANGLE] += tau_s * x[CART_SPIN];
    x[CART_SPIN] += tau_s * spin_up;
    *reward = 1;
    if (fabs(x[CART_X]) > 2.4 || fabs(x[CART_ANGLE]) > 12 * 3.14159265358979323846 / 180) return TERMINATED;
    return x[X_STEP] >= 499 ? TRUNCATED : GOES_ON;
}

enum { PENDULUM_ANGLE = X_OWN, PENDULUM_SPIN };

static void pendulum_begin(world *w)
{
    w->x[PENDULUM_ANGLE] = 3.14159265358979323846 * (2 * rllb_rng_double(&w->rng) - 1);
    w->x[PENDULUM_SPIN] = 2 * rllb_rng_double(&w->rng) - 1;
}

static void pendulum_see(const world *w, float *obs, float *state)
{
    (void)state;
    obs[0] = (float)cos(w->x[PENDULUM_ANGLE]);
    obs[1] = (float)sin(w->x[PENDULUM_ANGLE]);
    obs[2] = (float)(w->x[PENDULUM_SPIN] / 8);
}

/* A rod of 1 kg and 1 m, g = 10 m/s2, at most 2 Nm and 8 rad/s, steps of 0.05 s; angle 0 is up. */
static int pendulum_step(world *w, const float *action, double *reward)
{
    const double turn = 2 * 3.14159265358979323846, tau_s = 0.05;
    double torque = 2 * (double)action[0], angle = w->x[PENDULUM_ANGLE], spin = w->x[PENDULUM_SPIN];

    angle -= turn * floor(angle / turn + 0.5);
    *reward = -(angle * angle + 0.1 * spin * spin + 0.001 * torque * torque);
    spin += (15 * sin(angle) + 3 * torque) * tau_s;
    spin = spin > 8 ? 8 : spin < -8 ? -8 : spin;
    w->x[PENDULUM_SPIN] = spin;
    w->x[PENDULUM_ANGLE] = angle + spin * tau_s;
    return w->x[X_STEP] >= 199 ? TRUNCATED : GOES_ON;
}

enum { SET_STEPS = 8, SET_SPEED = X_OWN, SET_SEEN = X_OWN + ITEMS_MOST, SET_SIZES = 3 };
static const int32_t set_sizes[SET_SIZES] = { 3, 7, 24 };
static const double set_noise = 0.7;

static void set_look(world *w)
{
    int32_t i;

    for (i = 0; i < (int32_t)w->x[X_WHICH]; i++) {
        w->x[SET_SEEN + i] = w->x[SET_SPEED + i] - 1 + set_noise * rllb_rng_normal(&w->rng);
    }
}

/* Speeds are 2^0, 2^1 or 2^2; sizes take turns. */
static void set_begin(world *w)
{
    int32_t i;

    w->x[X_WHICH] = set_sizes[(int32_t)w->x[X_EPISODE] % SET_SIZES];
    for (i = 0; i < (int32_t)w->x[X_WHICH]; i++) w->x[SET_SPEED + i] = rllb_rng_below(&w->rng, 3);
    set_look(w);
}

static void set_see(const world *w, float *obs, float *state)
{
    int32_t i;

    (void)state;
    for (i = 0; i < ITEMS_MOST; i++) obs[i] = i < (int32_t)w->x[X_WHICH] ? (float)w->x[SET_SEEN + i] : 0.0f;
}

/* How far shares of the load are from shares of the speed: minus chi-squared, 0 if they are the same. */
static int set_step(world *w, const float *action, double *reward)
{
    double weights = 0, speeds = 0, sum = 0;
    int32_t i, n = (int32_t)w->x[X_WHICH];

    for (i = 0; i < n; i++) {
        weights += exp2((double)action[i]);
        speeds += exp2(w->x[SET_SPEED + i]);
    }
    for (i = 0; i < n; i++) {
        double share = exp2((double)action[i]) / weights, due = exp2(w->x[SET_SPEED + i]) / speeds;
        sum += share * share / due;
    }
    *reward = (1 - sum) / SET_STEPS;
    set_look(w);
    return w->x[X_STEP] >= SET_STEPS - 1 ? TERMINATED : GOES_ON;
}

/* Mean return over many episodes of who takes for a server's speed what is nearest to one look at it, or all to be
   equal: what a learner must be better than. */
static double set_rule(bool look)
{
    enum { EPISODES = 1500 };
    float action[ITEMS_MOST];
    double sum = 0, reward;
    int32_t e, i;
    world w;

    memset(&w, 0, sizeof w);
    rllb_rng_init(&w.rng, 1, 0);
    for (e = 0; e < EPISODES; e++) {
        int how = GOES_ON;
        w.x[X_STEP] = 0;
        for (set_begin(&w); how == GOES_ON; w.x[X_STEP]++) {
            for (i = 0; i < ITEMS_MOST; i++) {
                double seen = w.x[SET_SEEN + i];
                action[i] = !look || fabs(seen) <= 0.5 ? 1.0f : seen > 0 ? 2.0f : 0.0f;
            }
            how = set_step(&w, action, &reward);
            sum += reward;
        }
        w.x[X_EPISODE]++;
    }
    return sum / EPISODES;
}

/* ---- tasks --------------------------------------------------------------------------------------------------- */

enum { IQL, VDN, QMIX, SAC, SAC_RELEASED, ALGOS };
enum { FEED, RECURRENT, NETS };
enum { TWO_STEP, MATRIX, MEMORY, CARTPOLE, PENDULUM, SET, TASKS };
static const char *const task_names[] = { "two-step", "matrix", "memory", "cartpole", "pendulum", "set", NULL };
static const char *const algo_names[] = { "iql", "vdn", "qmix", "sac", "sac-released", NULL };
static const char *const net_names[] = { "feed-forward", "recurrent", NULL };

typedef struct task {
    const char *title;
    int32_t agents, observations, item_observations, choices, states, episode; /* the most steps of one */
    uint32_t algos, nets;      /* compared by default */
    int32_t check_every, check_episodes, judge_episodes;
    double solved;             /* a judged return of this or more */
    bool last;                 /* judged is the last network: with few outcomes, some check sees the best by chance */
    void (*begin)(world *w);
    void (*see)(const world *w, float *obs, float *state);
    int (*step)(world *w, const float *action, double *reward);
} task;

#define BIT(n) ((uint32_t)1 << (n))

static const task tasks[TASKS] = {
    { .title = "The two-step game", .agents = 2, .observations = 3, .choices = 2, .states = 3, .episode = 2,
      .algos = BIT(IQL) | BIT(VDN) | BIT(QMIX), .nets = BIT(FEED), .check_every = 250, .check_episodes = 1,
      .judge_episodes = 1, .solved = 8, .last = true, .begin = two_step_begin, .see = two_step_see,
      .step = two_step_step },
    { .title = "The climbing game", .agents = 2, .observations = 1, .choices = 3, .states = 1, .episode = 1,
      .algos = BIT(IQL) | BIT(VDN) | BIT(QMIX), .nets = BIT(FEED), .check_every = 250, .check_episodes = 1,
      .judge_episodes = 1, .solved = 11, .last = true, .begin = matrix_begin, .see = matrix_see, .step = matrix_step },
    { .title = "A cue remembered for eight steps", .agents = 1, .observations = 2, .choices = 2,
      .episode = MEMORY_DELAY + 1, .algos = BIT(IQL) | BIT(SAC), .nets = BIT(FEED) | BIT(RECURRENT),
      .check_every = 500, .check_episodes = 50, .judge_episodes = 400, .solved = 0.9, .begin = memory_begin,
      .see = memory_see, .step = memory_step },
    { .title = "CartPole", .agents = 1, .observations = 4, .choices = 2, .episode = 500,
      .algos = BIT(IQL) | BIT(SAC) | BIT(SAC_RELEASED), .nets = BIT(FEED), .check_every = 500, .check_episodes = 10,
      .judge_episodes = 20, .solved = 475, .begin = cartpole_begin, .see = cartpole_see, .step = cartpole_step },
    { .title = "Pendulum", .agents = 1, .observations = 3, .episode = 200, .algos = BIT(SAC), .nets = BIT(FEED),
      .check_every = 400, .check_episodes = 10, .judge_episodes = 20, .solved = -200, .begin = pendulum_begin,
      .see = pendulum_see, .step = pendulum_step },
    { .title = "Weights for 3, 7 and 24 servers by one network", .agents = 1, .item_observations = 1, .choices = 3,
      .episode = SET_STEPS, .algos = BIT(VDN) | BIT(SAC), .nets = BIT(FEED) | BIT(RECURRENT), .check_every = 480,
      .check_episodes = 30, .judge_episodes = 300, .solved = -0.12, .begin = set_begin, .see = set_see,
      .step = set_step },
};

/* What is learnt with, by task and family of learners. In the two games all actions are random, so that what is learnt
   is the value of every joint action, as in the paper. gamma -1: 0. entropy: as in rllb_nn_sac_desc. replay: steps. */
typedef struct tuning {
    int32_t steps;
    double lr, gamma, reward_scale, entropy, tau, epsilon; /* tau 0: the target is a copy every target_every updates */
    int32_t hidden, gru, batch, window, learn_every, learn_start, replay, target_every, epsilon_steps;
} tuning;

enum { BY_VALUE, BY_ACTOR, FAMILIES };

static const tuning tunings[TASKS][FAMILIES] = {
    /* steps    lr  gamma scale entropy tau epsilon hidden gru batch window every start replay target over */
    { { 10000, 1e-3, 0.99, 1, 0, 0, 1, 32, 32, 32, 0, 2, 32, 1500, 100, 1 },
      { 10000, 1e-3, 0.99, 1, 0.3, 0.01, 0, 32, 32, 32, 0, 2, 64, 1500, 1, 1 } },
    { { 10000, 1e-3, -1, 1, 0, 0, 1, 32, 32, 32, 0, 2, 32, 1500, 100, 1 },
      { 10000, 1e-3, -1, 1, 0.3, 0.01, 0, 32, 32, 32, 0, 2, 64, 1500, 1, 1 } },
    { { 20000, 3e-3, 0.99, 1, 0, 0, 0.05, 32, 16, 16, 0, 9, 16, 4500, 100, 8000 },
      { 20000, 3e-3, 0.99, 1, 0.3, 0.02, 0, 32, 16, 16, 0, 9, 200, 4500, 1, 1 } },
    { { 20000, 1e-3, 0.99, 1, 0, 0, 0.02, 64, 32, 64, 1, 1, 10, 20000, 100, 5000 },
      { 10000, 1e-3, 0.99, 0.1, 0.5, 0.02, 0, 64, 32, 64, 1, 1, 500, 20000, 1, 1 } },
    { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
      { 8000, 1e-3, 0.98, 0.2, -1, 0.01, 0, 64, 32, 64, 1, 1, 500, 20000, 1, 1 } },
    { { 9600, 2e-3, -1, 40, 0, 0, 0.05, 32, 16, 16, 0, 8, 16, 8000, 100, 4800 },
      { 9600, 2e-3, -1, 10, 0.5, 0.02, 0, 32, 16, 8, 0, 8, 128, 8000, 1, 1 } },
};

/* ---- settings ------------------------------------------------------------------------------------------------ */

static uint32_t task_bits = BIT(TWO_STEP), algo_bits, net_bits;
static int32_t seeds = 4, steps_wanted, hidden, batch, learn_every, check_every, save_every = 10, jobs, isa;
static double lr, entropy;
static bool resume, portable, quiet;
static uint64_t seed = 1;
static const char *out = "out/learners";

static ex_option options[] = {
    EX_HEADING("What"),
    EX_CHOICES("task", &task_bits, task_names, "what is to be learnt"),
    EX_CHOICES("algo", &algo_bits, algo_names, "learners; default: those that are told apart by the task"),
    EX_CHOICES("net", &net_bits, net_names, "networks; default: by the task"),
    EX_INT("steps", &steps_wanted, 0, 100000000, "N", "steps of training; 0: by the task"),
    EX_INT("seeds", &seeds, 1, 1000, "N", "runs of each"),
    EX_SEED("seed", &seed, "of the first of them; the others follow"),
    EX_HEADING("Learner; 0: by the task"),
    EX_DOUBLE("lr", &lr, 0, 1e6, "X", "learning rate of Adam"),
    EX_INT("hidden", &hidden, 0, 4096, "N", "width of the hidden layers"),
    EX_INT("batch", &batch, 0, 65536, "N", "sequences to an update"),
    EX_INT("learn-every", &learn_every, 0, 1000000, "N", "steps to an update"),
    EX_DOUBLE("entropy", &entropy, -100, 1, "X", "target of sac: share of the greatest, or nats if continuous"),
    EX_HEADING("How it is run"),
    EX_INT("check-every", &check_every, 0, 10000000, "N", "steps between two checks; 0: by the task"),
    EX_INT("save-every", &save_every, 1, 1000000, "N", "checks between two checkpoints"),
    EX_INT("jobs", &jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),
    EX_FLAG("resume", &resume, "go on with the runs that --out holds, do those that are missing"),
    EX_CHOICE("isa", &isa, ex_isa_names, "instruction set"),
    EX_FLAG("portable", &portable, "arithmetic that gives the same bits on every machine; slower"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress, no tables"),
};

static const char details[] =
    "two-step, matrix: iql vdn qmix sac sac-released. memory, cartpole: iql sac sac-released.\n"
    "pendulum: sac. set: iql vdn sac sac-released.\n"
    "\n"
    "Writes TASK.png, TASK-entropy.png, history.csv, results.json and runs/NAME.safetensors (for --resume; also on\n"
    "Ctrl-C).\n";

static ex_program program = { .name = "learners", .summary = "teaches small tasks whose answer is known",
                              .details = details, .options = options, .option_count = EX_COUNT(options) };

static bool by_value(int32_t algo)
{
    return algo == IQL || algo == VDN || algo == QMIX;
}

/* Why a learner is of no use for a task; NULL if it is. */
static const char *misfit(int32_t t, int32_t algo)
{
    bool set = tasks[t].item_observations > 0;

    if (tasks[t].choices == 0 && algo != SAC) return "its actions are numbers, not choices";
    if (algo == QMIX && set) return "its mixer would have a weight for each of a fixed number of items";
    if ((algo == QMIX || algo == VDN) && !set && tasks[t].agents == 1) return "there is one agent: nothing to mix";
    return NULL;
}

/* ---- one run ------------------------------------------------------------------------------------------------- */

/* One row of the history: a check without exploration, and means over what came since the one before. NaN: there is no
   such figure. */
enum { H_STEP, H_GREEDY, H_TRAIN, H_LOSS, H_VALUE, H_EPSILON, H_ENTROPY, H_ALPHA, H_SIZES, H_COLUMNS = H_SIZES + 3 };
enum { SUM_RETURN, SUM_RETURNS, SUM_EPISODES, SUM_LOSS, SUM_VALUE, SUM_ENTROPY, SUM_UPDATES, SUMS };
enum { C_STEPS, C_UPDATES, C_ENDED, C_BEST, C_DIVERGED, COUNTERS }; /* best: check, 0: none; diverged: step, 0: no */
enum { J_RETURN, J_SIZES, JUDGED = J_SIZES + 3 };
enum { STREAM_TRAIN = 101, STREAM_CHECK, STREAM_JUDGE };

typedef struct run {
    int32_t task, algo, net;
    uint64_t seed;
    const task *what;
    tuning how;
    int32_t every, checks, done; /* steps between checks; checks in all and so far */
    char name[96];
    rllb_nn_qmix *values; /* the one or the other */
    rllb_nn_sac *actor;
    rllb_nn_net *best, *spare;
    world now;
    double *history; /* [checks][H_COLUMNS] */
    double sum[SUMS], judged[JUDGED];
    int64_t counter[COUNTERS];
    double cpu_s;
} run;

static int32_t or_else(int32_t given, int32_t otherwise)
{
    return given ? given : otherwise;
}

static void run_settle(run *r, int32_t t, int32_t algo, int32_t net, uint64_t with_seed)
{
    memset(r, 0, sizeof *r);
    r->task = t;
    r->algo = algo;
    r->net = net;
    r->seed = with_seed;
    r->what = &tasks[t];
    r->how = tunings[t][by_value(algo) ? BY_VALUE : BY_ACTOR];
    if (lr > 0) r->how.lr = lr;
    if (entropy != 0) r->how.entropy = entropy;
    r->how.hidden = or_else(hidden, r->how.hidden);
    r->how.batch = or_else(batch, r->how.batch);
    r->how.learn_every = or_else(learn_every, r->how.learn_every);
    r->how.steps = or_else(steps_wanted, r->how.steps);
    r->every = or_else(check_every, r->what->check_every);
    r->checks = (r->how.steps + r->every - 1) / r->every;
    if (net == RECURRENT) r->how.window = r->what->episode > 100 ? 16 : 0;
    snprintf(r->name, sizeof r->name, "%s-%s-%s-%llu", task_names[t], algo_names[algo], net_names[net],
             (unsigned long long)with_seed);
}

static void describe_net(const run *r, rllb_nn_net_desc *d)
{
    rllb_nn_net_desc_default(d);
    d->hidden[0] = r->how.hidden;
    if (r->net == FEED && !r->what->item_observations) d->hidden[1] = r->how.hidden;
    if (r->net == RECURRENT) d->gru = or_else(r->how.gru, 16);
    d->isa = (rllb_nn_isa)isa;
    d->portable = portable;
}

/* An agent must not see its own last action in these tasks: it could write what it is to remember there. */
static void describe_space(const run *r, rllb_nn_space *s)
{
    s->observations = r->what->observations;
    s->item_observations = r->what->item_observations;
    s->items = s->item_observations ? ITEMS_MOST : 0;
    s->choices = r->what->choices;
    s->agent_id = r->what->agents > 1;
}

static void describe_replay(const run *r, rllb_nn_episodes_desc *d)
{
    d->capacity = r->how.replay;
    d->episodes = r->how.replay / 2;
    d->steps = r->what->episode;
}

static bool open_values(run *r)
{
    static const rllb_nn_mix mixes[] = { RLLB_NN_MIX_NONE, RLLB_NN_MIX_SUM, RLLB_NN_MIX_QMIX };
    rllb_nn_qmix_desc d;

    rllb_nn_qmix_desc_default(&d);
    describe_net(r, &d.net);
    describe_space(r, &d.space);
    describe_replay(r, &d.replay);
    d.agents = r->what->agents;
    d.mix = mixes[r->algo];
    d.states = r->what->states;
    d.embed = 8;
    d.hyper = 32;
    d.double_q = true;
    d.gamma = (float)r->how.gamma;
    d.lambda = -1;
    d.opt.lr.from = r->how.lr;
    d.epsilon.curve = RLLB_NN_LINEAR_DECAY;
    d.epsilon.from = 1;
    d.epsilon.to = r->how.epsilon;
    d.epsilon.steps = r->how.epsilon_steps;
    d.batch = r->how.batch;
    d.window = r->how.window;
    d.learn_start = r->how.learn_start;
    d.target_every = r->how.target_every;
    d.tau = (float)r->how.tau;
    d.seed = r->seed;
    r->values = rllb_nn_qmix_create(&d);
    return r->values != NULL;
}

static bool open_actor(run *r)
{
    rllb_nn_sac_desc d;

    rllb_nn_sac_desc_default(&d);
    describe_net(r, &d.actor);
    describe_space(r, &d.space);
    describe_replay(r, &d.replay);
    d.agents = r->what->agents;
    d.form = r->algo == SAC_RELEASED ? RLLB_NN_SAC_RELEASED : RLLB_NN_SAC_EXACT;
    d.gamma = (float)r->how.gamma;
    d.tau = (float)r->how.tau;
    d.alpha = 0.2f;
    d.entropy = (float)r->how.entropy;
    d.reward_scale = (float)r->how.reward_scale;
    d.actor_opt.lr.from = d.critic_opt.lr.from = d.alpha_opt.lr.from = r->how.lr;
    d.batch = r->how.batch;
    d.window = r->how.window;
    d.learn_start = r->how.learn_start;
    d.seed = r->seed;
    r->actor = rllb_nn_sac_create(&d);
    return r->actor != NULL;
}

/* The agents' network: what would be deployed. */
static rllb_nn_net *net_of(run *r)
{
    return r->values ? rllb_nn_qmix_net(r->values, 0) : rllb_nn_sac_actor(r->actor);
}

static void run_close(run *r)
{
    rllb_nn_qmix_destroy(r->values);
    rllb_nn_sac_destroy(r->actor);
    rllb_nn_net_destroy(r->best);
    rllb_nn_net_destroy(r->spare);
    r->values = NULL;
    r->actor = NULL;
    r->best = r->spare = NULL;
}

static int run_open(run *r)
{
    rllb_nn_net_desc d;

    if (!r->history) r->history = calloc((size_t)r->checks * H_COLUMNS, sizeof *r->history);
    if (r->history && (by_value(r->algo) ? open_values(r) : open_actor(r))) {
        rllb_nn_net_query(net_of(r), &d);
        r->best = rllb_nn_net_create(&d);
        r->spare = rllb_nn_net_create(&d);
    }
    if (!r->spare || !r->best) {
        run_close(r);
        return ex_fail("%s: no memory for the learner", r->name);
    }
    rllb_rng_init(&r->now.rng, r->seed, STREAM_TRAIN);
    r->counter[C_ENDED] = 1;
    return EX_OK;
}

static void world_begin(const run *r, world *w)
{
    w->x[X_STEP] = 0;
    r->what->begin(w);
    w->x[X_EPISODE]++;
}

static int world_step(const run *r, world *w, const float *action, double *reward)
{
    int how = r->what->step(w, action, reward);

    w->x[X_STEP]++;
    return how;
}

static int32_t items_of(const run *r, const world *w)
{
    return r->what->item_observations ? (int32_t)w->x[X_WHICH] : 0;
}

static void act(run *r, const float *obs, int32_t items, bool explore, float *action)
{
    if (r->values) rllb_nn_qmix_act(r->values, obs, items, explore, action);
    else rllb_nn_sac_act(r->actor, obs, items, explore, action);
}

static void forget(run *r)
{
    if (r->values) rllb_nn_qmix_begin(r->values);
    else rllb_nn_sac_begin(r->actor);
}

/* Mean return without exploration; of every size of a set too. Between episodes only: the learner forgets. */
static double greedy(run *r, int32_t episodes, uint64_t stream, double by_size[3])
{
    float obs[AGENTS_MOST * SEEN_MOST], state[STATES_MOST], action[ITEMS_MOST] = { 0 };
    double total = 0, reward;
    int32_t e, i, counts[3] = { 0, 0, 0 };
    world w;

    memset(&w, 0, sizeof w);
    rllb_rng_init(&w.rng, r->seed, stream);
    for (i = 0; i < 3; i++) by_size[i] = 0;
    for (e = 0; e < episodes; e++) {
        double sum = 0;
        int how = GOES_ON;
        world_begin(r, &w);
        while (how == GOES_ON) {
            r->what->see(&w, obs, state);
            act(r, obs, items_of(r, &w), false, action);
            how = world_step(r, &w, action, &reward);
            sum += reward;
        }
        forget(r);
        total += sum;
        by_size[e % SET_SIZES] += sum;
        counts[e % SET_SIZES]++;
    }
    for (i = 0; i < 3; i++) {
        by_size[i] = r->what->item_observations && counts[i] ? by_size[i] / counts[i] : (double)NAN;
    }
    return total / episodes;
}

/* One update; false if it diverged. */
static bool update(run *r)
{
    rllb_nn_qmix_report q;
    rllb_nn_sac_report s;
    rllb_status status;

    memset(&q, 0, sizeof q);
    memset(&s, 0, sizeof s);
    status = r->values ? rllb_nn_qmix_update(r->values, &q) : rllb_nn_sac_update(r->actor, &s);
    if (status == RLLB_ERROR_NOT_FINITE) return false;
    if (status != RLLB_OK) return true; /* too little to learn from yet */
    r->sum[SUM_LOSS] += (double)(q.loss + s.critic_loss);
    r->sum[SUM_VALUE] += (double)(q.mean_value + s.mean_value);
    r->sum[SUM_ENTROPY] += (double)s.entropy;
    r->sum[SUM_UPDATES]++;
    r->counter[C_UPDATES]++;
    return true;
}

/* A row of the history; the best network is kept, the later one if there are several. */
static void check(run *r)
{
    double *row = r->history + (size_t)r->done * H_COLUMNS, n = r->sum[SUM_UPDATES], none = (double)NAN;
    int64_t best = r->counter[C_BEST];

    row[H_STEP] = (double)(r->done + 1) * r->every;
    row[H_GREEDY] = greedy(r, r->what->check_episodes, STREAM_CHECK, row + H_SIZES);
    row[H_TRAIN] = r->sum[SUM_EPISODES] > 0 ? r->sum[SUM_RETURNS] / r->sum[SUM_EPISODES] : none;
    row[H_LOSS] = n > 0 ? r->sum[SUM_LOSS] / n : none;
    row[H_VALUE] = n > 0 ? r->sum[SUM_VALUE] / n : none;
    row[H_EPSILON] = r->values ? rllb_nn_qmix_epsilon(r->values) : none;
    row[H_ENTROPY] = r->actor && n > 0 ? r->sum[SUM_ENTROPY] / n : none;
    row[H_ALPHA] = r->actor ? (double)rllb_nn_sac_alpha(r->actor) : none;
    memset(r->sum, 0, sizeof r->sum);
    r->done++;
    if (best == 0 || r->what->last || !(row[H_GREEDY] < r->history[(best - 1) * H_COLUMNS + H_GREEDY])) {
        r->counter[C_BEST] = r->done;
        rllb_nn_net_copy(r->best, net_of(r));
    }
}

/* One step of the world and of the learner; false if it diverged. */
static bool step(run *r)
{
    float obs[AGENTS_MOST * SEEN_MOST], next[AGENTS_MOST * SEEN_MOST], state[STATES_MOST], next_state[STATES_MOST];
    float action[ITEMS_MOST] = { 0 }, rewards[AGENTS_MOST];
    double reward;
    rllb_nn_step s;
    rllb_status status;
    int how;

    if (r->counter[C_ENDED]) world_begin(r, &r->now);
    memset(&s, 0, sizeof s);
    s.items = items_of(r, &r->now);
    r->what->see(&r->now, obs, state);
    act(r, obs, s.items, true, action);
    how = world_step(r, &r->now, action, &reward);
    r->what->see(&r->now, next, next_state);
    rewards[0] = rewards[1] = (float)(r->values ? reward * r->how.reward_scale : reward);
    s.obs = obs;
    s.next = next;
    s.state = state;
    s.next_state = next_state;
    s.action = action;
    s.reward = rewards;
    s.terminated = how == TERMINATED;
    s.truncated = how == TRUNCATED;
    status = r->values ? rllb_nn_qmix_observe(r->values, &s) : rllb_nn_sac_observe(r->actor, &s);
    r->sum[SUM_RETURN] += reward;
    r->counter[C_ENDED] = how != GOES_ON;
    r->counter[C_STEPS]++;
    if (how != GOES_ON) {
        r->sum[SUM_RETURNS] += r->sum[SUM_RETURN];
        r->sum[SUM_RETURN] = 0;
        r->sum[SUM_EPISODES]++;
    }
    if (status == RLLB_OK && (r->counter[C_STEPS] % r->how.learn_every != 0 || update(r))) return true;
    r->counter[C_DIVERGED] = r->counter[C_STEPS];
    return false;
}

/* The best network on fresh episodes. The learner gets its own back. */
static void judge(run *r)
{
    rllb_nn_net_copy(r->spare, net_of(r));
    if (r->counter[C_BEST] > 0) rllb_nn_net_copy(net_of(r), r->best);
    r->judged[J_RETURN] = greedy(r, r->what->judge_episodes, STREAM_JUDGE, r->judged + J_SIZES);
    rllb_nn_net_copy(net_of(r), r->spare);
}

/* ---- checkpoints --------------------------------------------------------------------------------------------- */

/* All that makes a run what it is, but for its length. */
static const char *setup_text(const run *r, char text[480])
{
    char a[32], b[32];

    snprintf(text, 480, "task=%s algo=%s net=%s seed=%llu lr=%s entropy=%s hidden=%d batch=%d learn-every=%d "
             "check-every=%d portable=%s", task_names[r->task], algo_names[r->algo], net_names[r->net],
             (unsigned long long)r->seed, ex_number_double(r->how.lr, a), ex_number_double(r->how.entropy, b),
             (int)r->how.hidden, (int)r->how.batch, (int)r->how.learn_every, (int)r->every, portable ? "yes" : "no");
    return text;
}

enum { ENTRIES = RLLB_NN_LEARNER_ENTRIES_MAX };

/* The learner, the world, the history, the best network. One list serves both ways. */
static void checkpoint_list(run *r, rllb_nn_archive *a)
{
    if (r->values) rllb_nn_qmix_entries(r->values, a);
    else rllb_nn_sac_entries(r->actor, a);
    rllb_nn_net_entries(r->best, "best.", a);
    rllb_nn_archive_add(a, "run.world", RLLB_NN_F64, NUMBERS, 0, r->now.x);
    rllb_nn_archive_add(a, "run.random", RLLB_NN_U64, 4, 0, r->now.rng.s);
    rllb_nn_archive_add(a, "run.counters", RLLB_NN_I64, COUNTERS, 0, r->counter);
    rllb_nn_archive_add(a, "run.sums", RLLB_NN_F64, SUMS, 0, r->sum);
    rllb_nn_archive_add(a, "run.judged", RLLB_NN_F64, JUDGED, 0, r->judged);
    if (r->done > 0) rllb_nn_archive_add(a, "run.history", RLLB_NN_F64, r->done, H_COLUMNS, r->history);
}

static ex_path checkpoint_path(const run *r)
{
    char name[128];

    snprintf(name, sizeof name, "runs/%s.safetensors", r->name);
    return ex_path_join(out, name);
}

static bool checkpoint_write(run *r)
{
    static rllb_nn_entry entries[ENTRIES];
    rllb_nn_archive archive = { entries, 0, ENTRIES, 0 };
    rllb_nn_meta meta[2];
    char text[480];
    unsigned char *bytes;
    size_t size;
    bool ok;

    checkpoint_list(r, &archive);
    meta[0].key = "learners";
    meta[0].value = setup_text(r, text);
    meta[1].key = "isa";
    meta[1].value = rllb_nn_kernels_name(rllb_nn_net_kernels(r->best));
    size = rllb_nn_archive_size(&archive, meta, 2);
    bytes = size ? malloc(size) : NULL;
    if (bytes && rllb_nn_archive_save(&archive, meta, 2, bytes, size) == RLLB_OK) {
        ok = ex_file_write(checkpoint_path(r).text, bytes, size);
    } else {
        ok = ex_fail("cannot write %s: no memory", checkpoint_path(r).text) == EX_OK;
    }
    free(bytes);
    return ok;
}

/* Numbers out of a damaged file must not lead anywhere. */
static bool loaded_ok(const run *r)
{
    const int64_t *c = r->counter;
    int32_t i;

    for (i = 0; i < NUMBERS; i++) {
        if (!(fabs(r->now.x[i]) < 1e9)) return false;
    }
    if (r->now.x[X_STEP] < 0 || r->now.x[X_EPISODE] < 0 || r->now.x[X_WHICH] < 0) return false;
    if (r->now.x[X_WHICH] > ITEMS_MOST || r->now.x[X_STEP] > r->what->episode) return false;
    return c[C_STEPS] >= 0 && c[C_STEPS] < (int64_t)1 << 48 && c[C_UPDATES] >= 0 && c[C_BEST] >= 0 &&
           c[C_BEST] <= r->done && (r->done == 0 || c[C_BEST] > 0) && c[C_STEPS] >= (int64_t)r->done * r->every;
}

static int checkpoint_read(run *r, const ex_text *file, const char *path)
{
    static rllb_nn_entry entries[ENTRIES];
    rllb_nn_archive archive = { entries, 0, ENTRIES, 0 };
    rllb_nn_dtype dtype;
    rllb_logger logger;
    ex_detail detail = { "" };
    char was[480], is[480], words[200];
    int64_t rows = 0, columns = 0;
    size_t offset;
    rllb_status status;

    logger.fn = ex_detail_log;
    logger.user = &detail;
    status = rllb_nn_file_check(file->data, file->size, &logger);
    if (status != RLLB_OK) return ex_fail("%s: not a checkpoint: %s", path, rllb_status_words(status));
    if (rllb_nn_file_meta(file->data, file->size, "learners", was, sizeof was) != RLLB_OK) {
        return ex_fail("%s: not a checkpoint of learners", path);
    }
    if (strcmp(was, setup_text(r, is)) != 0) {
        ex_setup_differ(was, is, words);
        return ex_usage("resume", "%s began with %s; a run goes on with the settings it began with", path, words);
    }
    if (rllb_nn_file_query(file->data, file->size, "run.history", &dtype, &rows, &columns, &offset) != RLLB_OK) {
        rows = 0; /* no check yet */
    }
    if (rows > r->checks) {
        return ex_usage("steps", "%lld, but %s has done %lld already", (long long)r->checks * r->every, path,
                        (long long)rows * r->every);
    }
    r->done = (int32_t)rows;
    checkpoint_list(r, &archive);
    status = rllb_nn_archive_load(&archive, file->data, file->size, &logger);
    if (status == RLLB_OK && !loaded_ok(r)) {
        status = RLLB_ERROR_FORMAT;
        snprintf(detail.text, sizeof detail.text, "run.counters");
    }
    if (status != RLLB_OK) {
        return ex_fail("%s: not a checkpoint of this run: %s: %s", path, detail.text, rllb_status_words(status));
    }
    if (rllb_nn_file_meta(file->data, file->size, "isa", was, sizeof was) == RLLB_OK &&
        strcmp(was, rllb_nn_kernels_name(rllb_nn_net_kernels(r->best))) != 0 && r->done < r->checks) {
        ex_warn("%s was computed with %s and goes on with %s: not bit for bit", path, was,
                rllb_nn_kernels_name(rllb_nn_net_kernels(r->best)));
    }
    return EX_OK;
}

/* EX_GO_ON: there is no such file. */
static int checkpoint_load(run *r)
{
    ex_path path = checkpoint_path(r);
    ex_text file = { 0 };
    int status;

    if (access(path.text, F_OK) != 0) return EX_GO_ON;
    if (!ex_file_read(path.text, (size_t)1 << 31, &file)) return EX_FAILED;
    status = checkpoint_read(r, &file, path.text);
    ex_text_free(&file);
    return status;
}

/* ---- runs at a time ------------------------------------------------------------------------------------------ */

/* Where a run tells how far it is. */
typedef struct post {
    int64_t steps;
    double cpu_s;
} post;

enum { STOPPED = 3 }; /* what a run leaves with that was told to stop, and saved */

static bool over(const run *r)
{
    return r->done >= r->checks || r->counter[C_DIVERGED] > 0;
}

/* One step, and a check where one is due: between episodes, since a check makes the learner forget. True: a checkpoint
   is due too. */
static bool go_on(run *r)
{
    int32_t before = r->done;

    if (!step(r)) return false;
    while (r->counter[C_ENDED] && !over(r) && r->counter[C_STEPS] >= (int64_t)(r->done + 1) * r->every) check(r);
    return r->done / save_every > before / save_every && !over(r);
}

/* The whole run, or what is left of it. Ends if the parent is gone: nobody would take the result, and another may be
   at the same file by now. */
static int run_work(run *r, pid_t parent, post *to)
{
    clock_t from = clock();
    int status = run_open(r);

    if (status == EX_OK && resume) status = checkpoint_load(r);
    if (status != EX_OK && status != EX_GO_ON) return status;
    while (!over(r)) {
        bool save = go_on(r);
        to->steps = r->counter[C_STEPS];
        if (getppid() != parent) return EX_FAILED;
        if (ex_interrupted() && !over(r)) return checkpoint_write(r) ? STOPPED : EX_FAILED;
        if (save && !checkpoint_write(r)) return EX_FAILED;
    }
    if (r->counter[C_DIVERGED] > 0) forget(r);
    judge(r);
    to->cpu_s = (double)(clock() - from) / CLOCKS_PER_SEC;
    return getppid() == parent && checkpoint_write(r) ? EX_OK : EX_FAILED;
}

typedef struct all_runs {
    run *runs;
    int32_t count, next, todo, done;
    int64_t steps; /* of runs that are not going on, since the start */
    bool failed;
    ex_lock *lock;
    ex_pool pool;
    ex_progress bar;
} all_runs;

static int32_t all_next(void *self)
{
    all_runs *b = self;

    while (b->next < b->count && over(&b->runs[b->next])) b->next++;
    return b->next < b->count && !b->failed ? b->next++ : -1;
}

/* The lock is on an open folder: a child that held it open would keep it locked after its parent's death. */
static int all_run(void *self, int32_t which, void *mail, pid_t parent)
{
    all_runs *b = self;

    ex_folder_unlock(b->lock);
    return run_work(&b->runs[which], parent, mail);
}

static bool all_take(void *self, int32_t which, const void *mail, int status, int killer)
{
    all_runs *b = self;
    run *r = &b->runs[which];
    const post *from = mail;

    r->cpu_s = from->cpu_s;
    b->steps += from->steps - r->counter[C_STEPS];
    b->done += status == EX_OK;
    if (status == EX_OK || status == STOPPED) return true;
    if (killer) ex_fail("the run %s was ended by signal %d", r->name, killer);
    b->failed = true; /* it has said why */
    return false;
}

static void all_show(void *self)
{
    all_runs *b = self;
    int64_t steps = b->steps;
    const void *mail;
    int32_t i, which;

    for (i = 0; i < b->pool.jobs; i++) {
        int64_t there;
        which = ex_pool_look(&b->pool, i, &mail);
        there = which >= 0 ? ((const post *)mail)->steps - b->runs[which].counter[C_STEPS] : 0;
        if (there > 0) steps += there; /* not before it has begun */
    }
    ex_progress_step(&b->bar, steps, "%d of %d", (int)b->done, (int)b->todo);
}

/* Runs what is not over yet. After an interrupt or a failure the others are asked to end, and save what they have. */
static int all_work(all_runs *b)
{
    int64_t steps = 0;
    int32_t i, there = 0;

    for (i = 0; i < b->count; i++) {
        if (over(&b->runs[i])) there++;
        else steps += (int64_t)b->runs[i].checks * b->runs[i].every - b->runs[i].counter[C_STEPS];
    }
    b->todo = b->count - there;
    b->pool.self = b;
    b->pool.jobs = jobs;
    b->pool.runs = b->todo;
    b->pool.mail_bytes = sizeof(post);
    b->pool.stop_signal = SIGTERM;
    b->pool.next = all_next;
    b->pool.run = all_run;
    b->pool.take = all_take;
    b->pool.show = all_show;
    ex_catch_interrupts();
    ex_progress_start(&b->bar, "learning", steps, quiet);
    if (!ex_pool_work(&b->pool)) b->failed = true;
    if (b->failed || ex_interrupted()) ex_progress_end(&b->bar, NULL);
    else ex_progress_end(&b->bar, "%d runs, %d at a time,", (int)b->done, (int)b->pool.jobs);
    if (b->failed) return EX_FAILED;
    if (!ex_interrupted()) return EX_OK;
    fprintf(stderr, "learners: stopped with %d of %d runs done; go on with the same command and --resume\n",
            (int)(there + b->done), (int)b->count);
    return ex_interrupt_status();
}

/* ---- figures over seeds -------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which that share lies, between the two nearest; NaN of none. Sorts them. */
static double quantile(double *values, int32_t count, double share)
{
    double at = share * (count - 1), part;
    int32_t low = (int32_t)floor(at);

    if (count < 1) return (double)NAN;
    qsort(values, (size_t)count, sizeof *values, by_size);
    part = at - low;
    return part > 0 ? values[low] + part * (values[low + 1] - values[low]) : values[low];
}

/* Runs that differ in their seeds only. */
typedef struct group {
    const run *runs;
    const task *what;
    int32_t count, solved, diverged, steps;
    double median, worst, best, entropy, alpha, cpu_s; /* judged returns; means over the last quarter of each run */
    double sizes[3];
} group;

/* Mean of a column over the last quarter of a run. */
static double late(const run *r, int32_t column)
{
    int32_t first = r->done - (r->done + 3) / 4, i;
    double sum = 0;

    for (i = first; i < r->done; i++) sum += r->history[i * H_COLUMNS + column];
    return r->done > 0 ? sum / (r->done - first) : (double)NAN;
}

static double entropy_target(const run *r)
{
    if (by_value(r->algo)) return (double)NAN;
    return r->how.entropy * (r->what->choices ? log(r->what->choices) : 1);
}

static bool solved(const run *r)
{
    return r->judged[J_RETURN] >= r->what->solved;
}

static void group_settle(group *g, const run *runs, int32_t count)
{
    double values[1000], entropies = 0, alphas = 0;
    int32_t i, k;

    memset(g, 0, sizeof *g);
    g->runs = runs;
    g->what = runs->what;
    g->count = count;
    g->steps = runs->checks * runs->every;
    for (i = 0; i < count; i++) {
        values[i] = runs[i].judged[J_RETURN];
        g->solved += solved(&runs[i]);
        g->diverged += runs[i].counter[C_DIVERGED] > 0;
        g->cpu_s += runs[i].cpu_s / count;
        entropies += late(&runs[i], H_ENTROPY) / count;
        alphas += late(&runs[i], H_ALPHA) / count;
        for (k = 0; k < 3; k++) g->sizes[k] += runs[i].judged[J_SIZES + k] / count;
    }
    g->entropy = entropies;
    g->alpha = alphas;
    g->median = quantile(values, count, 0.5);
    g->worst = values[0];
    g->best = values[count - 1];
}

/* "QMIX, recurrent"; the network only where it tells groups apart. */
static const char *group_name(const group *g, bool with_net, char name[64])
{
    static const char *const names[] = { "IQL", "VDN", "QMIX", "SAC", "SAC as released" };

    snprintf(name, 64, "%s%s%s", names[g->runs->algo], with_net ? ", " : "", with_net ? net_names[g->runs->net] : "");
    return name;
}

/* A column at a check, over the seeds that got there. */
static void curve_at(const group *g, int32_t check_at, int32_t column, double *median, double *low, double *high)
{
    double values[1000];
    int32_t i, n = 0;

    for (i = 0; i < g->count; i++) {
        double value = check_at < g->runs[i].done ? g->runs[i].history[check_at * H_COLUMNS + column] : (double)NAN;
        if (!isnan(value)) values[n++] = value;
    }
    *median = quantile(values, n, 0.5);
    *low = quantile(values, n, 0.25);
    *high = quantile(values, n, 0.75);
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static void csv_figure(ex_csv *csv, double value)
{
    if (isnan(value)) ex_csv_string(csv, "");
    else ex_csv_double(csv, value);
}

static bool write_history(const run *runs, int32_t count)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i, k, c;
    char seed_text[32];
    bool ok;

    ex_csv_header(&csv, "task,algo,net,seed,step,greedy_return,return,loss,value,epsilon,entropy,alpha,greedy_3,"
                        "greedy_7,greedy_24");
    for (i = 0; i < count; i++) {
        for (k = 0; k < runs[i].done; k++) {
            ex_csv_string(&csv, task_names[runs[i].task]);
            ex_csv_string(&csv, algo_names[runs[i].algo]);
            ex_csv_string(&csv, net_names[runs[i].net]);
            snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)runs[i].seed);
            ex_csv_string(&csv, seed_text);
            for (c = 0; c < H_COLUMNS; c++) csv_figure(&csv, runs[i].history[k * H_COLUMNS + c]);
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "history.csv").text);
    ex_text_free(&text);
    return ok;
}

static void json_run(ex_json *j, const run *r)
{
    ex_json_row(j, NULL);
    ex_json_uint(j, "seed", r->seed);
    ex_json_double(j, "return", r->judged[J_RETURN]);
    ex_json_bool(j, "solved", solved(r));
    ex_json_int(j, "best_at_step", r->counter[C_BEST] * r->every);
    ex_json_int(j, "updates", r->counter[C_UPDATES]);
    ex_json_int(j, "diverged_at_step", r->counter[C_DIVERGED]);
    ex_json_double(j, "entropy", late(r, H_ENTROPY));
    ex_json_double(j, "alpha", late(r, H_ALPHA));
    ex_json_end(j);
}

static void json_group(ex_json *j, const group *g)
{
    int32_t i;

    ex_json_object(j, NULL);
    ex_json_string(j, "task", task_names[g->runs->task]);
    ex_json_string(j, "algo", algo_names[g->runs->algo]);
    ex_json_string(j, "net", net_names[g->runs->net]);
    ex_json_int(j, "steps", g->steps);
    ex_json_double(j, "solved_at", g->what->solved);
    ex_json_int(j, "solved", g->solved);
    ex_json_int(j, "diverged", g->diverged);
    ex_json_double(j, "median", g->median);
    ex_json_double(j, "worst", g->worst);
    ex_json_double(j, "best", g->best);
    ex_json_row_array(j, "by_size");
    for (i = 0; i < 3 && g->what->item_observations; i++) ex_json_double(j, NULL, g->sizes[i]);
    ex_json_end(j);
    ex_json_double(j, "entropy_target", entropy_target(g->runs));
    ex_json_double(j, "entropy", g->entropy);
    ex_json_double(j, "alpha", g->alpha);
    ex_json_array(j, "runs");
    for (i = 0; i < g->count; i++) json_run(j, &g->runs[i]);
    ex_json_end(j);
    ex_json_end(j);
}

static void json_names(ex_json *j, const char *key, uint32_t bits, const char *const *names)
{
    int32_t i;

    ex_json_row_array(j, key);
    for (i = 0; names[i]; i++) {
        if (bits & BIT(i)) ex_json_string(j, NULL, names[i]);
    }
    ex_json_end(j);
}

static bool write_results(const group *groups, int32_t count)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "learners");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_object(&j, "settings");
    json_names(&j, "task", task_bits, task_names);
    json_names(&j, "algo", algo_bits, algo_names);
    json_names(&j, "net", net_bits, net_names);
    ex_json_int(&j, "steps", steps_wanted);
    ex_json_int(&j, "seeds", seeds);
    ex_json_uint(&j, "seed", seed);
    ex_json_double(&j, "lr", lr);
    ex_json_int(&j, "hidden", hidden);
    ex_json_int(&j, "batch", batch);
    ex_json_int(&j, "learn-every", learn_every);
    ex_json_double(&j, "entropy", entropy);
    ex_json_int(&j, "check-every", check_every);
    ex_json_string(&j, "isa", ex_isa_names[isa]);
    ex_json_bool(&j, "portable", portable);
    ex_json_end(&j);
    ex_json_string(&j, "kernels", rllb_nn_kernels_name(rllb_nn_kernels_query((rllb_nn_isa)isa, portable)));
    ex_json_array(&j, "groups");
    for (i = 0; i < count; i++) json_group(&j, &groups[i]);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ------------------------------------------------------------------------------------------------ */

enum { GROUPS_MOST = ALGOS * NETS };

/* What curves point to; groups are those of one task. */
typedef struct scene {
    const group *groups;
    int32_t count;
    bool with_net;
    double *numbers; /* [count][4][checks]: step, median, low, high */
    char names[GROUPS_MOST][64];
    ex_series series[GROUPS_MOST];
} scene;

static bool scene_open(scene *s, const group *groups, int32_t count)
{
    int32_t i;

    memset(s, 0, sizeof *s);
    s->groups = groups;
    s->count = count;
    for (i = 1; i < count; i++) s->with_net = s->with_net || groups[i].runs->net != groups[0].runs->net;
    for (i = 0; i < count; i++) group_name(&groups[i], s->with_net, s->names[i]);
    return true;
}

/* Curves of a column; only of actors: of those that have a temperature. Returns how many; -1: no memory, said. */
static int32_t scene_curves(scene *s, int32_t column, bool only_actors)
{
    size_t most = 0;
    int32_t i, k, n = 0;

    for (i = 0; i < s->count; i++) {
        if ((size_t)s->groups[i].runs->checks > most) most = (size_t)s->groups[i].runs->checks;
    }
    free(s->numbers);
    s->numbers = malloc((size_t)s->count * 4 * most * sizeof *s->numbers);
    if (!s->numbers) {
        ex_fail("no memory for the pictures");
        return -1;
    }
    memset(s->series, 0, sizeof s->series);
    for (i = 0; i < s->count; i++) {
        const group *g = &s->groups[i];
        double *at = s->numbers + (size_t)i * 4 * most;
        if (only_actors && by_value(g->runs->algo)) continue;
        for (k = 0; k < g->runs->checks; k++) {
            size_t at_k = (size_t)k;
            at[at_k] = (double)(k + 1) * g->runs->every;
            curve_at(g, k, column, at + most + at_k, at + 2 * most + at_k, at + 3 * most + at_k);
        }
        s->series[n].name = s->names[i];
        s->series[n].x = at;
        s->series[n].y = at + most;
        s->series[n].low = at + 2 * most;
        s->series[n].high = at + 3 * most;
        s->series[n].count = g->runs->checks;
        s->series[n].color = ex_palette(i);
        s->series[n].marker = (ex_marker)(EX_CIRCLE + i % 4);
        n++;
    }
    return n;
}

enum { MARKS = 3 };

/* Marks to hold the returns of a task against. */
static int32_t marks_of(int32_t t, ex_reference marks[MARKS])
{
    static const struct {
        const char *label[MARKS];
        double y[MARKS];
    } known[TASKS] = {
        { { "8: both take the risk", "7: the safe game", NULL }, { 8, 7, 0 } },
        { { "11: the best there is", "5: nothing to lose", NULL }, { 11, 5, 0 } },
        { { "1: never wrong", "0: guessing", NULL }, { 1, 0, 0 } },
        { { "475: solved", NULL, NULL }, { 475, 0, 0 } },
        { { "-200: solved", NULL, NULL }, { -200, 0, 0 } },
        { { "speeds known", "one look", "all equal" }, { 0, 0, 0 } },
    };
    int32_t i;

    memset(marks, 0, MARKS * sizeof *marks);
    for (i = 0; i < MARKS && known[t].label[i]; i++) {
        marks[i].label = known[t].label[i];
        marks[i].y = t == SET && i > 0 ? set_rule(i == 1) : known[t].y[i];
    }
    return i;
}

/* Learning curves beside what each seed came to. */
static bool draw_returns(scene *s)
{
    const double *values[GROUPS_MOST];
    const char *categories[GROUPS_MOST];
    int32_t counts[GROUPS_MOST], t = s->groups->runs->task, i, k, mark_count;
    double *judged = malloc((size_t)s->count * 1000 * sizeof *judged);
    char subtitle[200], file[64];
    ex_reference marks[MARKS];
    ex_line_chart line;
    ex_box_chart box;
    ex_panel panels[2];
    ex_figure figure;
    bool ok = judged && scene_curves(s, H_GREEDY, false) > 0;

    if (!judged) ex_fail("no memory for the pictures");
    mark_count = marks_of(t, marks);
    memset(&line, 0, sizeof line);
    memset(&box, 0, sizeof box);
    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; ok && i < s->count; i++) {
        for (k = 0; k < s->groups[i].count; k++) judged[i * 1000 + k] = s->groups[i].runs[k].judged[J_RETURN];
        values[i] = judged + i * 1000;
        counts[i] = s->groups[i].count;
        categories[i] = s->names[i];
    }
    line.title = "On the way";
    line.x.label = "step";
    line.y.label = box.y.label = "return of an episode, without exploration";
    line.series = s->series;
    line.series_count = s->count;
    box.title = tasks[t].last ? "The last network" : "The best network, on fresh episodes";
    box.categories = categories;
    box.values = values;
    box.counts = counts;
    box.category_count = s->count;
    if (t == TWO_STEP) {
        line.y.low = box.y.low = 6.5;
        line.y.high = box.y.high = 8.5;
    }
    line.references = box.references = marks;
    line.reference_count = box.reference_count = mark_count;
    panels[0].line = &line;
    panels[1].box = &box;
    snprintf(subtitle, sizeof subtitle, "%d %s; lines: median, bands: from quartile to quartile",
             (int)s->groups->count, s->groups->count == 1 ? "seed" : "seeds");
    figure.title = tasks[t].title;
    figure.subtitle = subtitle;
    figure.panels = panels;
    figure.panel_count = figure.columns = 2;
    snprintf(file, sizeof file, "%s.png", task_names[t]);
    ok = ok && ex_figure_write(&figure, 1600, 680, ex_path_join(out, file).text);
    free(judged);
    return ok;
}

/* Whole decades around all of the curves. */
static void decades(ex_axis *axis, const ex_series *series, int32_t count)
{
    double low = HUGE_VAL, high = 0;
    int32_t i, k;

    for (i = 0; i < count; i++) {
        for (k = 0; k < series[i].count; k++) {
            if (series[i].low[k] > 0) low = fmin(low, series[i].low[k]);
            if (series[i].high[k] > 0) high = fmax(high, series[i].high[k]);
        }
    }
    axis->logarithmic = true;
    if (!(low <= high)) return;
    axis->low = pow(10, floor(log10(low)));
    axis->high = pow(10, floor(log10(high)) + 1);
}

/* Entropy against its target, and the temperature that keeps it there. */
static bool draw_entropy(scene *s)
{
    static const char *const labels[2] = { "entropy of a decision (nats)", "temperature" };
    static const int32_t columns[2] = { H_ENTROPY, H_ALPHA };
    double *numbers[2] = { NULL, NULL }, target = (double)NAN;
    ex_series series[2][GROUPS_MOST];
    int32_t t = s->groups->runs->task, i, n = 0;
    char file[64];
    ex_reference mark;
    ex_line_chart line[2];
    ex_panel panels[2];
    ex_figure figure;
    bool ok = true;

    memset(&mark, 0, sizeof mark);
    memset(line, 0, sizeof line);
    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; i < s->count; i++) {
        if (!by_value(s->groups[i].runs->algo)) target = entropy_target(s->groups[i].runs);
    }
    if (isnan(target)) return true;
    for (i = 0; i < 2 && n >= 0; i++) {
        n = scene_curves(s, columns[i], true);
        memcpy(series[i], s->series, sizeof s->series);
        numbers[i] = s->numbers;
        s->numbers = NULL;
        line[i].x.label = "step";
        line[i].y.label = labels[i];
        line[i].series = series[i];
        line[i].series_count = n;
        panels[i].line = &line[i];
    }
    mark.label = "target";
    mark.y = target;
    line[0].title = "Entropy";
    line[0].references = &mark;
    line[0].reference_count = 1;
    line[1].title = "Temperature";
    decades(&line[1].y, series[1], n);
    figure.title = tasks[t].title;
    figure.subtitle = "soft actor-critic: the temperature is learnt so that the entropy keeps to its target; median "
                      "and quartiles of the seeds";
    figure.note = "Where a choice wins nothing, nothing asks for less entropy: it stays above its target, and the "
                  "temperature goes to zero.";
    figure.panels = panels;
    figure.panel_count = figure.columns = 2;
    snprintf(file, sizeof file, "%s-entropy.png", task_names[t]);
    ok = n >= 0 && ex_figure_write(&figure, 1600, 620, ex_path_join(out, file).text);
    free(numbers[0]);
    free(numbers[1]);
    return ok;
}

static bool draw(const group *groups, int32_t count)
{
    int32_t first, last;
    bool ok = true;

    for (first = 0; ok && first < count; first = last) {
        scene s;
        for (last = first; last < count && groups[last].runs->task == groups[first].runs->task; last++) {}
        ok = scene_open(&s, groups + first, last - first) && draw_returns(&s) && draw_entropy(&s);
        free(s.numbers);
    }
    return ok;
}

/* ---- main ---------------------------------------------------------------------------------------------------- */

static void figure_cell(ex_table *t, const char *format, double value, bool there)
{
    char text[32] = "";

    if (there) snprintf(text, sizeof text, format, value);
    ex_table_cell(t, "%s", text);
}

static void tell(const group *groups, int32_t count)
{
    ex_table t;
    int32_t i;
    char name[64];

    memset(&t, 0, sizeof t);
    ex_table_cell(&t, "task");
    ex_table_cell(&t, "learner");
    ex_table_cell(&t, "steps");
    ex_table_cell(&t, "median");
    ex_table_cell(&t, "worst");
    ex_table_cell(&t, "best");
    ex_table_cell(&t, "solved");
    ex_table_cell(&t, "entropy");
    ex_table_cell(&t, "target");
    ex_table_cell(&t, "alpha");
    ex_table_cell(&t, "CPU s");
    ex_table_row(&t);
    for (i = 0; i < count; i++) {
        const group *g = &groups[i];
        bool actor = !by_value(g->runs->algo);
        if (i && g->runs->task != groups[i - 1].runs->task) ex_table_rule(&t);
        ex_table_cell(&t, "%s", task_names[g->runs->task]);
        ex_table_cell(&t, "%s", group_name(g, true, name));
        ex_table_cell(&t, "%d", (int)g->steps);
        ex_table_cell(&t, "%.3g", g->median);
        ex_table_cell(&t, "%.3g", g->worst);
        ex_table_cell(&t, "%.3g", g->best);
        ex_table_cell(&t, "%d of %d", (int)g->solved, (int)g->count);
        figure_cell(&t, "%.3f", g->entropy, actor);
        figure_cell(&t, "%.3f", entropy_target(g->runs), actor);
        figure_cell(&t, "%.3g", g->alpha, actor);
        figure_cell(&t, "%.1f", g->cpu_s, g->cpu_s > 0);
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
    printf("Returns: of the network that did best in the checks of a run (two-step, matrix: of the last), on fresh\n"
           "episodes without exploration; median, worst, best of the seeds. Entropy, alpha: at the end of a run.\n");
    for (i = 0; i < count; i++) {
        if (!groups[i].what->item_observations) continue;
        printf("%s: %.3f for 3 servers, %.3f for 7, %.3f for 24\n", group_name(&groups[i], true, name),
               groups[i].sizes[0], groups[i].sizes[1], groups[i].sizes[2]);
    }
}

/* The groups that were asked for, and their runs. EX_GO_ON, or what to leave with. */
static int settle(run **runs, int32_t *count)
{
    static const uint32_t all = BIT(TASKS) - 1;
    int32_t t, algo, net, i;
    bool one = (task_bits & (task_bits - 1)) == 0;

    *runs = calloc((size_t)TASKS * GROUPS_MOST * (size_t)seeds, sizeof **runs);
    if (!*runs) return ex_fail("no memory for %d seeds", (int)seeds);
    for (t = 0; t < TASKS; t++) {
        uint32_t algos = algo_bits ? algo_bits : tasks[t].algos, nets = net_bits ? net_bits : tasks[t].nets;
        if (!(task_bits & all & BIT(t))) continue;
        for (algo = 0; algo < ALGOS; algo++) {
            if (!(algos & BIT(algo))) continue;
            if (misfit(t, algo) && one) {
                return ex_usage("algo", "%s is of no use for %s: %s", algo_names[algo], task_names[t], misfit(t, algo));
            }
            for (net = 0; net < NETS && !misfit(t, algo); net++) {
                for (i = 0; i < seeds && (nets & BIT(net)); i++) {
                    run_settle(*runs + (*count)++, t, algo, net, seed + (uint64_t)i);
                }
            }
        }
    }
    return *count > 0 ? EX_GO_ON : ex_usage("algo", "of no use for these tasks");
}

/* With --resume: what every run has done. Every file is looked at before any is gone on with. */
static int take_up(run *runs, int32_t count)
{
    int32_t i;

    for (i = 0; i < count && resume; i++) {
        int status = run_open(&runs[i]);
        if (status == EX_OK) status = checkpoint_load(&runs[i]);
        run_close(&runs[i]);
        if (status != EX_OK && status != EX_GO_ON) return status;
    }
    return EX_OK;
}

/* What the runs left in their files. */
static int collect(run *runs, int32_t count)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        int status = run_open(&runs[i]);
        if (status == EX_OK) status = checkpoint_load(&runs[i]);
        run_close(&runs[i]);
        if (status == EX_GO_ON || (status == EX_OK && !over(&runs[i]))) {
            status = ex_fail("%s is not what its run left there", checkpoint_path(&runs[i]).text);
        }
        if (status != EX_OK) return status;
    }
    return EX_OK;
}

static int report(run *runs, int32_t count)
{
    static group groups[TASKS * GROUPS_MOST];
    int32_t n = 0, i, diverged = 0, first = -1;

    for (i = 0; i < count; i += seeds) group_settle(&groups[n++], runs + i, seeds);
    if (!write_history(runs, count) || !write_results(groups, n) || !draw(groups, n)) return EX_FAILED;
    if (!quiet) tell(groups, n);
    for (i = 0; i < count; i++) {
        if (runs[i].counter[C_DIVERGED] == 0) continue;
        diverged++;
        if (first < 0) first = i;
    }
    if (!diverged) return EX_OK;
    return ex_fail("%d of %d runs diverged, %s at step %lld: a loss that is not finite; %s has the state before it",
                   (int)diverged, (int)count, runs[first].name, (long long)runs[first].counter[C_DIVERGED],
                   checkpoint_path(&runs[first]).text);
}

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    run *runs = NULL;
    int32_t count = 0, i;
    all_runs b;
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    memset(&b, 0, sizeof b);
    if (!ex_isa_there(isa, portable)) return EX_USAGE;
    status = settle(&runs, &count);
    if (status == EX_GO_ON) status = take_up(runs, count);
    if (status == EX_OK && (!ex_folder_lock(out, &lock) || !ex_folder_make(ex_path_join(out, "runs").text))) {
        status = EX_FAILED;
    }
    b.runs = runs;
    b.count = count;
    b.lock = &lock;
    if (status == EX_OK) status = all_work(&b);
    if (status == EX_OK) status = collect(runs, count);
    if (status == EX_OK) status = report(runs, count);
    for (i = 0; i < count; i++) free(runs[i].history);
    free(runs);
    ex_folder_unlock(&lock);
    return status;
}
