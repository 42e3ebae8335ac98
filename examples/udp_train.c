/* udp_train.c - trains the allocator of UDP traffic on what agents report of its clients: CPU, memory, network

   Two worlds of rllb_env.h. `original` is the one that a published allocator was trained in: metrics drawn anew at
   every step, whatever it does. With its settings (9-24-24-3, Adam 1e-3, gamma 0.95, no target network), the defaults
   here, the network learns to take the client with the least network use. `honest` is one where what is allocated moves
   the metrics, which are seen late; --help says which defaults it has, and docs/udp.md why.

   Build:   make build/udp_train
   Run:     build/udp_train --world honest --seeds 10 --out out/udp_train
   Prints:  the trained network beside rules that see the same metrics, over episodes that nobody trained on
   Writes:  model.safetensors, results.json, curve.csv, curve.png, policies.png

   A run is its settings and its seed: the same command gives the same bytes of curve.csv and model.safetensors. */

#include "cluster.h"
#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AVERAGE = 50, CHECKED = 100, SEEDS_MOST = 64, CLIENTS_MOST = 64 };

static const char *const world_names[] = { "original", "honest", NULL };
static const char *const algo_names[] = { "dqn", "double", "dueling", NULL };
static const char *const see_names[] = { "metrics", "all", NULL };
static const char *const keep_names[] = { "last", "best", NULL };
static const char *const loss_names[] = { "mse", "huber", NULL };
static const char *const column_names[] = { "cpu", "memory", "network", "sent", "age" };
enum { ALGO_DQN, ALGO_DOUBLE, ALGO_DUELING };
enum { SEE_METRICS, SEE_ALL };
enum { KEEP_LAST, KEEP_BEST };
enum { LOSS_MSE, LOSS_HUBER };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static int32_t world, clients = 3, see, algo, keep, loss, isa;
static int32_t episodes = 1000, seeds = 1, judged = 300, check_every = 20;
static int32_t batch = 32, replay = 2000, learn_every = 1, n_step = 1;
static double interval_s = 1, load = 0.35, gamma_ = 0.95, lr = 1e-3, lr_half, tau = 1, clip, decay = 0.995;
static double floor_ = 0.01, reward_scale = 1;
static ex_list hidden = { .count = 2, .values = { 24, 24 } };
static uint64_t seed = 1;
static bool portable, quiet;
static const char *out = "out/udp_train";

static ex_option options[] = {
    EX_HEADING("World"),
    EX_CHOICE("world", &world, world_names, "the published one, or one where allocating has effects, seen late"),
    EX_INT("clients", &clients, 2, CLIENTS_MOST, "N", "to allocate among"),
    EX_CHOICE("see", &see, see_names, "the metrics alone, or besides what was sent since, and their age"),
    EX_DOUBLE("interval", &interval_s, 0.25, 10, "S", "honest: seconds between two samples of a client's metrics"),
    EX_DOUBLE("load", &load, 0.01, 1, "X", "honest: what flows demand of all CPU and network; tenants come on top"),
    EX_HEADING("Learner"),
    EX_CHOICE("algo", &algo, algo_names, "DQN, Double DQN, or a dueling network"),
    EX_INT_LIST("hidden", &hidden, 1, 4096, "N,N", "widths of the hidden layers"),
    EX_DOUBLE("gamma", &gamma_, 0, 1, "X", "discount of later rewards"),
    EX_INT("n-step", &n_step, 1, 64, "N", "rewards summed before bootstrapping"),
    EX_DOUBLE("lr", &lr, 1e-9, 10, "X", "learning rate of Adam"),
    EX_DOUBLE("lr-half", &lr_half, 0, 1e12, "N", "updates after which the learning rate has halved; 0: never"),
    EX_CHOICE("loss", &loss, loss_names, "of an update"),
    EX_DOUBLE("clip", &clip, 0, 1e9, "X", "greatest norm of a gradient; 0: any"),
    EX_INT("batch", &batch, 1, 65536, "N", "transitions to an update"),
    EX_INT("learn-every", &learn_every, 1, 1000000, "N", "steps to an update"),
    EX_INT("replay", &replay, 1, 5000000, "N", "transitions remembered"),
    EX_DOUBLE("tau", &tau, 1e-6, 1, "X", "target network: share it follows after an update; 1: there is none"),
    EX_DOUBLE("epsilon-decay", &decay, 0, 1, "X", "share of random actions, times this after each episode"),
    EX_DOUBLE("epsilon-floor", &floor_, 0, 1, "X", "but never below"),
    EX_DOUBLE("reward-scale", &reward_scale, 1e-9, 1e9, "X", "what the learner sees of a reward"),
    EX_HEADING("Run"),
    EX_INT("episodes", &episodes, 1, 1000000, "N", "episodes to train, of 200 steps"),
    EX_SEED("seed", &seed, "of everything that is random"),
    EX_INT("seeds", &seeds, 1, SEEDS_MOST, "N", "networks to train, with this seed and those that follow"),
    EX_INT("check-every", &check_every, 1, 1000000, "N", "episodes between two checks without exploration"),
    EX_CHOICE("keep", &keep, keep_names, "the last network of a training, or the best of those checks"),
    EX_INT("judged", &judged, 2, 100000, "N", "episodes to judge by, for each seed"),
    EX_CHOICE("isa", &isa, ex_isa_names, "instruction set"),
    EX_FLAG("portable", &portable, "arithmetic of the network that gives the same bits on every machine; slower"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress, no figures"),
};

static const char details[] =
    "The defaults are the published settings. With --world honest others apply:\n"
    "--see all --hidden 64,64 --gamma 0.9 --clip 10 --batch 128 --learn-every 4 --replay 50000 --tau 0.01\n"
    "--epsilon-floor 0.05 --reward-scale 10 --episodes 2000 --keep best.\n"
    "\n"
    "It is judged beside rules that see the same late metrics: least_cpu, least_memory, least_network; least_worst,\n"
    "by the greater of CPU and network; least_ahead, the same with what was sent since, which is told what a flow\n"
    "takes in the mean; sed, by its own count of flows; round_robin and random; and beside greedy, which sees all.\n"
    "\n"
    "The model is that of the seed that did best in the checks. It says in its metadata which numbers it wants, of\n"
    "how many clients, sampled how often. Ctrl-C ends the run and writes nothing.\n"
    "\n"
    "Writes model.safetensors, results.json, curve.csv, curve.png and policies.png.\n";

static ex_program program = { .name = "udp_train", .summary = "trains a policy that allocates by metrics",
                              .details = details, .options = options, .option_count = EX_COUNT(options) };

/* What --world honest starts from instead. The metrics alone are late: between two samples they say the same, so that
   a network that sees nothing else sends flow after flow to one client. What it sent since is what it has to know.
   Here an action has effects, so that it pays to learn from more than the last ten episodes, towards a target that
   holds still, and to go on trying; and returns are small numbers of seconds. */
static void honest_defaults(const ex_program *p)
{
    if (!ex_option_given(p, "see")) see = SEE_ALL;
    if (!ex_option_given(p, "hidden")) hidden.values[0] = hidden.values[1] = 64;
    if (!ex_option_given(p, "gamma")) gamma_ = 0.9;
    if (!ex_option_given(p, "clip")) clip = 10;
    if (!ex_option_given(p, "batch")) batch = 128;
    if (!ex_option_given(p, "learn-every")) learn_every = 4;
    if (!ex_option_given(p, "replay")) replay = 50000;
    if (!ex_option_given(p, "tau")) tau = 0.01;
    if (!ex_option_given(p, "epsilon-floor")) floor_ = 0.05;
    if (!ex_option_given(p, "reward-scale")) reward_scale = 10;
    if (!ex_option_given(p, "episodes")) episodes = 2000;
    if (!ex_option_given(p, "keep")) keep = KEEP_BEST;
}

/* ---- the world --------------------------------------------------------------------------------------------- */

static rllb_env_metrics_desc world_desc(int32_t environments, uint64_t world_seed, uint64_t stream)
{
    rllb_env_metrics_desc d;

    rllb_env_metrics_desc_default(&d);
    d.mode = (rllb_env_metrics_mode)world;
    d.environments = environments;
    d.clients = clients;
    d.columns = see == SEE_ALL ? RLLB_ENV_METRICS_COLUMNS : 3;
    d.interval_s = interval_s;
    d.load[0] = d.load[2] = (float)load;
    d.seed = world_seed;
    d.stream = stream;
    return d;
}

/* What decides beside the network, and what it knows. */
#define RULES(X)                                                                        \
    X(RANDOM, "random", RLLB_POLICY_RANDOM)                                             \
    X(ROUND_ROBIN, "round_robin", RLLB_POLICY_ROUND_ROBIN)                              \
    X(SED, "sed", RLLB_POLICY_SED)                                                      \
    X(LEAST_CPU, "least_cpu", RLLB_POLICY_LEAST_LOAD)                                   \
    X(LEAST_MEMORY, "least_memory", RLLB_POLICY_LEAST_LOAD)                             \
    X(LEAST_NETWORK, "least_network", RLLB_POLICY_LEAST_LOAD)                           \
    X(LEAST_WORST, "least_worst", RLLB_POLICY_LEAST_LOAD)                               \
    X(LEAST_AHEAD, "least_ahead", RLLB_POLICY_LEAST_LOAD)                               \
    X(GREEDY, "greedy", RLLB_POLICY_RANDOM)

enum {
#define RULE_ENUM(id, name, kind) RULE_##id,
    RULES(RULE_ENUM)
    RULE_COUNT,
    RULE_TRAINED = RULE_COUNT, /* the network */
    WHO_COUNT
};

#define RULE_NAME(id, name, kind) name,
static const char *const who_names[WHO_COUNT] = { RULES(RULE_NAME) "trained" };
#define RULE_KIND(id, name, kind) kind,
static const rllb_policy_kind rule_kinds[RULE_COUNT] = { RULES(RULE_KIND) };

/* One policy that plays many environments at once. */
typedef struct court {
    rllb_env_metrics *env;
    rllb_env_metrics_desc d;
    rllb_policy *policy;
    rllb_nn_work *work;
    int32_t *actions;
    float *rewards, *values, *own; /* [E], [E][n], [E][n]: own flows in service, as the allocator counts them */
    uint8_t *truncated;
    float flow[2][CLIENTS_MOST]; /* what a flow takes of a client's CPU and network, in the mean */
} court;

static void court_close(court *c)
{
    rllb_env_metrics_destroy(c->env);
    rllb_policy_destroy(c->policy);
    rllb_nn_work_destroy(c->work);
    free(c->actions);
    free(c->rewards);
    free(c->values);
    free(c->own);
    free(c->truncated);
}

/* What the rules are told, besides what they see: what a flow takes of a client in the mean; and so the weight of one
   for SED: how many flows would fill it. */
static void court_told(court *c, float weights[CLIENTS_MOST])
{
    double all[2] = { 0, 0 }, share = 1 - exp(-c->d.step_s / c->d.service_s);
    int32_t i;

    for (i = 0; i < clients; i++) weights[i] = 1;
    if (!c->d.capacity) return; /* ORIGINAL has none */
    for (i = 0; i < clients; i++) {
        all[0] += (double)c->d.capacity[i].cpu;
        all[1] += (double)c->d.capacity[i].network;
    }
    for (i = 0; i < clients; i++) {
        c->flow[0][i] = (float)((double)c->d.load[0] * all[0] * share / (double)c->d.capacity[i].cpu);
        c->flow[1][i] = (float)((double)c->d.load[2] * all[1] * share / (double)c->d.capacity[i].network);
        weights[i] = 1 / fmaxf(c->flow[0][i], c->flow[1][i]);
    }
}

static bool court_open(court *c, const rllb_nn_net *net, int32_t who, int32_t count, uint64_t world_seed,
                       uint64_t stream)
{
    rllb_env_metrics_desc d = world_desc(count, world_seed, stream);
    size_t e = (size_t)count, n = (size_t)clients;
    float weights[CLIENTS_MOST];
    rllb_policy_desc p;

    memset(c, 0, sizeof *c);
    if (world == RLLB_ENV_METRICS_HONEST) d.columns = who == RULE_TRAINED ? d.columns : RLLB_ENV_METRICS_COLUMNS;
    c->env = rllb_env_metrics_create(&d);
    if (!c->env) return false;
    rllb_env_metrics_query(c->env, &c->d);
    court_told(c, weights);
    c->actions = calloc(e, sizeof *c->actions);
    c->rewards = calloc(e, sizeof *c->rewards);
    c->values = calloc(e * n, sizeof *c->values);
    c->own = calloc(e * n, sizeof *c->own);
    c->truncated = calloc(e, 1);
    if (!c->actions || !c->rewards || !c->values || !c->own || !c->truncated) return false;
    if (who == RULE_TRAINED) return (c->work = rllb_nn_work_create(net, count, false)) != NULL;
    rllb_policy_desc_default(&p);
    p.kind = rule_kinds[who];
    p.servers = clients;
    p.weights = weights;
    p.seed = world_seed;
    p.stream = stream;
    c->policy = rllb_policy_create(&p);
    return c->policy != NULL;
}

/* How bad a client looks to a rule. row: its metrics. */
static float looks(const court *c, int32_t who, int32_t i, const float *row, float own)
{
    float flows = 0;

    switch (who) {
    case RULE_SED: return own;
    case RULE_LEAST_CPU: return row[RLLB_ENV_CPU];
    case RULE_LEAST_MEMORY: return row[RLLB_ENV_MEMORY];
    case RULE_LEAST_NETWORK: return row[RLLB_ENV_NETWORK];
    case RULE_LEAST_AHEAD: /* and what those take that were sent since */
        if (c->d.columns > 3) flows = row[RLLB_ENV_SENT] * (float)(c->d.interval_s / c->d.step_s) + 1;
        break;
    default: break;
    }
    return fmaxf(row[RLLB_ENV_CPU] + flows * c->flow[0][i], row[RLLB_ENV_NETWORK] + flows * c->flow[1][i]);
}

static void decide(court *c, const rllb_nn_net *net, int32_t who)
{
    const float *seen = rllb_env_metrics_observe(c->env);
    float forget = (float)exp(-c->d.step_s / c->d.service_s), ranks[CLIENTS_MOST];
    int32_t e, i, turn = 0;

    if (who == RULE_TRAINED) rllb_nn_forward(net, c->work, seen, c->d.environments, c->values);
    if (who == RULE_ROUND_ROBIN) turn = rllb_policy_choose(c->policy, NULL);
    for (e = 0; e < c->d.environments; e++) {
        float *own = c->own + e * clients;
        const float *rows = seen + e * clients * c->d.columns;
        if (who == RULE_GREEDY) {
            c->actions[e] = rllb_env_metrics_best(c->env, e);
        } else if (who == RULE_ROUND_ROBIN) {
            c->actions[e] = turn;
        } else if (who == RULE_TRAINED) {
            const float *value = c->values + e * clients;
            int32_t best = 0;
            for (i = 1; i < clients; i++) {
                if (value[i] > value[best] || value[best] != value[best]) best = i;
            }
            c->actions[e] = best;
        } else {
            for (i = 0; i < clients; i++) ranks[i] = looks(c, who, i, rows + i * c->d.columns, own[i]);
            c->actions[e] = rllb_policy_choose(c->policy, ranks);
        }
        own[c->actions[e]] += 1;
        for (i = 0; i < clients; i++) own[i] *= forget;
    }
}

/* How one fared. */
typedef struct score {
    double *returns; /* [judged] */
    double mean, delay_s, lost;
} score;

static bool judge(const rllb_nn_net *net, int32_t who, int32_t count, uint64_t world_seed, uint64_t stream, score *s)
{
    court c;
    int32_t t, e;
    bool ok = court_open(&c, net, who, count, world_seed, stream);

    memset(s, 0, sizeof *s);
    s->returns = calloc((size_t)count, sizeof *s->returns);
    ok = ok && s->returns;
    for (t = 0; ok && t < c.d.horizon; t++) {
        decide(&c, net, who);
        rllb_env_metrics_step(c.env, c.actions, c.rewards, c.truncated);
        for (e = 0; e < count; e++) {
            s->returns[e] += (double)c.rewards[e];
            s->delay_s += (double)rllb_env_metrics_delay(c.env)[e] / ((double)count * c.d.horizon);
            s->lost += (double)rllb_env_metrics_lost(c.env)[e] / ((double)count * c.d.horizon);
        }
    }
    if (ok) s->mean = ex_mean(s->returns, count);
    else ex_fail("no memory for %d episodes at once", (int)count);
    court_close(&c);
    return ok;
}

/* ---- learning ---------------------------------------------------------------------------------------------- */

/* One row of the history. NaN: there is no such figure. */
enum { H_RETURN, H_EPSILON, H_LOSS, H_CHECK, H_COLUMNS };

typedef struct run {
    double *history[SEEDS_MOST]; /* [episodes][H_COLUMNS] of each seed */
    double best_check[SEEDS_MOST];
    int32_t best_episode[SEEDS_MOST];
    score scores[SEEDS_MOST][WHO_COUNT];
    rllb_nn_net *net, *model; /* of the present seed; and what is saved: that of the best seed */
    int32_t model_seed;       /* which it is, from 0 */
    int64_t updates;
    double seconds;
} run;

static rllb_nn_dqn *agent_open(uint64_t agent_seed)
{
    rllb_nn_dqn_desc d;
    int32_t i;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = clients * (see == SEE_ALL ? RLLB_ENV_METRICS_COLUMNS : 3);
    d.net.outputs = clients;
    for (i = 0; i < hidden.count; i++) d.net.hidden[i] = (int32_t)hidden.values[i];
    d.net.activation = RLLB_NN_RELU;
    d.net.start = RLLB_NN_START_XAVIER;
    d.net.dueling = algo == ALGO_DUELING ? (int32_t)hidden.values[hidden.count - 1] : 0;
    d.net.isa = (rllb_nn_isa)isa;
    d.net.portable = portable;
    d.opt.lr.from = lr;
    if (lr_half > 0) {
        d.opt.lr.curve = RLLB_NN_EXPONENTIAL;
        d.opt.lr.rate = pow(0.5, 1 / lr_half);
        d.opt.lr.to = lr / 1000;
    }
    d.opt.clip_norm = clip > 0 ? (float)clip : -1;
    d.loss = loss == LOSS_MSE ? RLLB_NN_MSE : RLLB_NN_HUBER;
    d.double_dqn = algo != ALGO_DQN;
    d.gamma = gamma_ > 0 ? (float)gamma_ : -1;
    d.replay.capacity = replay;
    d.replay.n_step = n_step;
    d.batch = batch;
    d.tau = (float)tau;
    d.epsilon.curve = RLLB_NN_EXPONENTIAL;
    d.epsilon.from = 1;
    d.epsilon.rate = decay;
    d.epsilon.to = floor_;
    d.seed = agent_seed;
    return rllb_nn_dqn_create(&d);
}

/* One episode of interaction and learning. */
static void episode(rllb_nn_dqn *agent, rllb_env_metrics *env, float *before, double *row, int64_t *steps)
{
    const float *seen = rllb_env_metrics_observe(env);
    size_t bytes = (size_t)rllb_nn_net_inputs(rllb_nn_dqn_net(agent), 0) * sizeof *before;
    double total = 0, losses = 0;
    int64_t updates = 0;
    uint8_t truncated = 0;

    row[H_EPSILON] = rllb_nn_dqn_epsilon(agent);
    rllb_env_metrics_reset(env);
    while (!truncated) {
        rllb_nn_dqn_report report;
        int32_t action = rllb_nn_dqn_act(agent, seen, NULL);
        float reward = 0;
        memcpy(before, seen, bytes);
        rllb_env_metrics_step(env, &action, &reward, &truncated);
        rllb_nn_dqn_observe(agent, before, action, reward * (float)reward_scale, seen, NULL, false, truncated != 0);
        if (++*steps % learn_every == 0 && rllb_nn_dqn_update(agent, &report) == RLLB_OK) {
            losses += (double)report.loss;
            updates++;
        }
        total += (double)reward;
    }
    row[H_RETURN] = total;
    row[H_LOSS] = updates ? losses / (double)updates : (double)NAN;
    row[H_CHECK] = (double)NAN;
}

/* The policy as it is, without exploration, on episodes kept for this; the best one is kept. */
static bool check(run *r, int32_t k, const rllb_nn_dqn *agent, int32_t done)
{
    const rllb_nn_net *net = rllb_nn_dqn_net(agent);
    score s;

    if (done % check_every != 0 && done != episodes) return true;
    if (!judge(net, RULE_TRAINED, CHECKED, seed + (uint64_t)k, EX_STREAM_CHECK, &s)) return false;
    r->history[k][(size_t)(done - 1) * H_COLUMNS + H_CHECK] = s.mean;
    if (r->best_episode[k] == 0 || s.mean > r->best_check[k] || keep == KEEP_LAST) {
        r->best_check[k] = s.mean;
        r->best_episode[k] = done;
        rllb_nn_net_copy(r->net, net);
    }
    free(s.returns);
    return true;
}

static bool nets_open(run *r, const rllb_nn_dqn *agent)
{
    rllb_nn_net_desc d;

    rllb_nn_net_query(rllb_nn_dqn_net(agent), &d);
    if (!r->net) r->net = rllb_nn_net_create(&d);
    if (!r->model) r->model = rllb_nn_net_create(&d);
    return r->net && r->model;
}

/* Trains the k-th network and judges it, and the rules on the same episodes. */
static int learn(run *r, int32_t k, ex_progress *bar)
{
    rllb_env_metrics_desc d = world_desc(1, seed + (uint64_t)k, EX_STREAM_TRAIN);
    rllb_env_metrics *env = rllb_env_metrics_create(&d);
    rllb_nn_dqn *agent = agent_open(seed + (uint64_t)k);
    float *before = calloc((size_t)clients * RLLB_ENV_METRICS_COLUMNS, sizeof *before);
    int32_t done, who;
    int64_t steps = 0;
    bool ok = env && agent && before && nets_open(r, agent);

    r->history[k] = calloc((size_t)episodes * H_COLUMNS, sizeof *r->history[k]);
    ok = ok && r->history[k];
    if (!ok) ex_fail("no memory for a replay of %d and %d episodes", (int)replay, (int)episodes);
    for (done = 1; ok && done <= episodes && !ex_interrupted(); done++) {
        double *row = r->history[k] + (size_t)(done - 1) * H_COLUMNS;
        episode(agent, env, before, row, &steps);
        ok = check(r, k, agent, done);
        ex_progress_step(bar, (int64_t)k * episodes + done, "seed %llu, episode %d, return %.1f",
                         (unsigned long long)(seed + (uint64_t)k), (int)done, row[H_RETURN]);
    }
    for (who = 0; ok && who < WHO_COUNT && !ex_interrupted(); who++) {
        ok = judge(r->net, who, judged, seed + (uint64_t)k, EX_STREAM_JUDGE, &r->scores[k][who]);
    }
    if (ok && (k == 0 || r->best_check[k] > r->best_check[r->model_seed])) {
        r->model_seed = k;
        rllb_nn_net_copy(r->model, r->net);
    }
    if (agent) r->updates += rllb_nn_dqn_updates(agent);
    rllb_nn_dqn_destroy(agent);
    rllb_env_metrics_destroy(env);
    free(before);
    return !ok ? EX_FAILED : ex_interrupted() ? ex_interrupt_status() : EX_OK;
}

/* ---- figures ----------------------------------------------------------------------------------------------- */

/* One seed: over its episodes. Several: over the seeds, each one's mean. `but`: less that one's; -1: no one's. */
static ex_estimate returns_of(const run *r, int32_t who, int32_t but)
{
    double means[SEEDS_MOST], *each = malloc((size_t)judged * sizeof *each);
    ex_estimate e = { (double)NAN, (double)NAN, (double)NAN };
    int32_t k, i;

    for (k = 0; k < seeds; k++) means[k] = r->scores[k][who].mean - (but < 0 ? 0 : r->scores[k][but].mean);
    for (i = 0; each && i < judged; i++) {
        each[i] = r->scores[0][who].returns[i] - (but < 0 ? 0 : r->scores[0][but].returns[i]);
    }
    if (each) e = seeds > 1 ? ex_estimate_t(means, seeds) : ex_estimate_t(each, judged);
    free(each);
    return e;
}

static double mean_of(const run *r, int32_t who, bool lost)
{
    double sum = 0;
    int32_t k;

    for (k = 0; k < seeds; k++) sum += lost ? r->scores[k][who].lost : r->scores[k][who].delay_s;
    return sum / seeds;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_curve(const run *r)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    char number[24];
    int32_t k, i, h;
    bool ok;

    ex_csv_header(&csv, "seed,episode,return,epsilon,loss,greedy_return");
    for (k = 0; k < seeds; k++) {
        for (i = 0; i < episodes; i++) {
            const double *row = r->history[k] + (size_t)i * H_COLUMNS;
            snprintf(number, sizeof number, "%llu", (unsigned long long)(seed + (uint64_t)k));
            ex_csv_string(&csv, number);
            ex_csv_int(&csv, i + 1);
            for (h = 0; h < H_COLUMNS; h++) {
                if (isnan(row[h])) ex_csv_string(&csv, "");
                else ex_csv_double(&csv, row[h]);
            }
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "curve.csv").text);
    ex_text_free(&text);
    return ok;
}

/* "cpu,memory,network" */
static const char *inputs_text(char text[80])
{
    size_t used = 0;
    int32_t i;

    for (i = 0; i < (see == SEE_ALL ? RLLB_ENV_METRICS_COLUMNS : 3); i++) {
        used += (size_t)snprintf(text + used, 80 - used, "%s%s", i ? "," : "", column_names[i]);
    }
    return text;
}

/* What whoever serves the model has to know: docs/udp.md. */
static bool write_model(const run *r)
{
    enum { OWN = 8 };
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive archive = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    rllb_nn_meta metas[RLLB_NN_NET_METAS + OWN];
    char text[80], inputs[80], count[16], number[32];
    const char *own[OWN][2] = { { "env", "metrics" },      { "world", world_names[world] }, { "clients", count },
                                { "inputs", inputs },      { "units", "share" },            { "interval_s", number },
                                { "algo", algo_names[algo] }, { "rllb", RLLB_VERSION_STRING } };
    int32_t metas_used = rllb_nn_net_meta(r->model, text, metas), i;

    inputs_text(inputs);
    snprintf(count, sizeof count, "%d", (int)clients);
    ex_number_double(interval_s, number);
    for (i = 0; i < OWN; i++) {
        metas[metas_used].key = own[i][0];
        metas[metas_used++].value = own[i][1];
    }
    rllb_nn_net_entries(r->model, "", &archive);
    return ex_archive_write(&archive, metas, metas_used, ex_path_join(out, "model.safetensors").text);
}

static void json_settings(ex_json *j)
{
    int32_t i;

    ex_json_object(j, "settings");
    ex_json_string(j, "world", world_names[world]);
    ex_json_int(j, "clients", clients);
    ex_json_string(j, "see", see_names[see]);
    ex_json_double(j, "interval_s", interval_s);
    ex_json_double(j, "load", load);
    ex_json_string(j, "algo", algo_names[algo]);
    ex_json_row_array(j, "hidden");
    for (i = 0; i < hidden.count; i++) ex_json_int(j, NULL, (int64_t)hidden.values[i]);
    ex_json_end(j);
    ex_json_double(j, "gamma", gamma_);
    ex_json_int(j, "n_step", n_step);
    ex_json_double(j, "lr", lr);
    ex_json_double(j, "lr_half", lr_half);
    ex_json_string(j, "loss", loss_names[loss]);
    ex_json_double(j, "clip", clip);
    ex_json_int(j, "batch", batch);
    ex_json_int(j, "learn_every", learn_every);
    ex_json_int(j, "replay", replay);
    ex_json_double(j, "tau", tau);
    ex_json_double(j, "epsilon_decay", decay);
    ex_json_double(j, "epsilon_floor", floor_);
    ex_json_double(j, "reward_scale", reward_scale);
    ex_json_int(j, "episodes", episodes);
    ex_json_int(j, "seeds", seeds);
    ex_json_int(j, "check_every", check_every);
    ex_json_string(j, "keep", keep_names[keep]);
    ex_json_int(j, "judged_episodes", judged);
    ex_json_end(j);
}

static bool write_results(const run *r)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t k, who;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "udp_train");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    json_settings(&j);
    ex_json_string(&j, "kernels", rllb_nn_kernels_name(rllb_nn_net_kernels(r->model)));
    ex_json_int(&j, "parameters", rllb_nn_net_parameters(r->model));
    ex_json_int(&j, "updates", r->updates);
    ex_json_double(&j, "seconds", r->seconds);
    ex_json_uint(&j, "model_seed", seed + (uint64_t)r->model_seed);
    ex_json_string(&j, "intervals_over", seeds > 1 ? "seeds" : "episodes");
    ex_json_array(&j, "results");
    for (who = 0; who < WHO_COUNT; who++) {
        ex_json_object(&j, NULL);
        ex_json_string(&j, "policy", who_names[who]);
        ex_json_estimate(&j, "return", returns_of(r, who, -1));
        ex_json_double(&j, "delay_s", mean_of(r, who, false));
        ex_json_double(&j, "lost_share", mean_of(r, who, true));
        if (who != RULE_TRAINED) ex_json_estimate(&j, "trained_less_this", returns_of(r, RULE_TRAINED, who));
        ex_json_row_array(&j, "returns_of_seeds");
        for (k = 0; k < seeds; k++) ex_json_double(&j, NULL, r->scores[k][who].mean);
        ex_json_end(&j);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* Rolling mean of the returns over the seeds, a deviation between them on both sides. [episodes] each. */
static bool curve_of(const run *r, double *mean, double *low, double *high)
{
    size_t n = (size_t)episodes;
    double *plain = malloc(2 * n * sizeof *plain), values[SEEDS_MOST];
    double **smooth = calloc((size_t)seeds, sizeof *smooth);
    bool ok = plain && smooth;
    size_t i;
    int32_t k;

    for (k = 0; ok && k < seeds; k++) {
        smooth[k] = malloc(n * sizeof **smooth);
        ok = smooth[k] != NULL;
        for (i = 0; ok && i < n; i++) plain[i] = r->history[k][i * H_COLUMNS + H_RETURN];
        if (ok) ex_rolling_mean(plain, episodes, AVERAGE, smooth[k]);
    }
    for (i = 0; ok && i < n; i++) {
        double sd;
        for (k = 0; k < seeds; k++) values[k] = smooth[k][i];
        mean[i] = ex_mean(values, seeds);
        sd = seeds > 1 ? ex_tail_sd(values, seeds, seeds) : 0;
        low[i] = mean[i] - sd;
        high[i] = mean[i] + sd;
    }
    for (k = 0; smooth && k < seeds; k++) free(smooth[k]);
    free(smooth);
    free(plain);
    return ok;
}

/* Of the rules that see what the network sees, the one with the best return. */
static int32_t best_rule(const run *r)
{
    int32_t who, best = 0;

    for (who = 1; who < RULE_GREEDY; who++) {
        if (returns_of(r, who, -1).mean > returns_of(r, best, -1).mean) best = who;
    }
    return best;
}

static const char *shown(int32_t who, char text[32])
{
    size_t i;

    snprintf(text, 32, "%s", who == RULE_GREEDY ? "greedy, sees all" : who_names[who]);
    for (i = 0; text[i]; i++) {
        if (text[i] == '_') text[i] = ' ';
    }
    return text;
}

static bool draw_curve(const run *r)
{
    size_t n = (size_t)episodes, i;
    double *x = malloc(6 * n * sizeof *x), *mean = x + n, *low = x + 2 * n, *high = x + 3 * n, *at = x + 4 * n;
    double *greedy = x + 5 * n;
    int32_t checks = 0, k, lines[3] = { RULE_RANDOM, best_rule(r), RULE_GREEDY };
    char title[120], subtitle[200], names[3][32], labels[3][480], of[80], text[64];
    ex_series series[2];
    ex_reference references[3];
    ex_line_chart chart;
    bool ok;

    if (!x || !curve_of(r, mean, low, high)) {
        free(x);
        ex_fail("no memory for the picture");
        return false;
    }
    for (i = 0; i < n; i++) {
        double sum = 0;
        x[i] = (double)i + 1;
        if (isnan(r->history[0][i * H_COLUMNS + H_CHECK])) continue;
        for (k = 0; k < seeds; k++) sum += r->history[k][i * H_COLUMNS + H_CHECK];
        at[checks] = (double)i + 1;
        greedy[checks++] = sum / seeds;
    }
    memset(series, 0, sizeof series);
    memset(&chart, 0, sizeof chart);
    memset(references, 0, sizeof references);
    snprintf(of, sizeof of, "return, mean of the last %d", AVERAGE);
    series[0].name = of;
    series[0].x = x;
    series[0].y = mean;
    series[0].low = seeds > 1 ? low : NULL;
    series[0].high = seeds > 1 ? high : NULL;
    series[0].count = episodes;
    series[0].color = ex_palette(0);
    series[1].name = "without exploration";
    series[1].x = at;
    series[1].y = greedy;
    series[1].count = checks;
    series[1].color = ex_palette(1);
    for (k = 0; k < 3; k++) {
        bool optimal = world == RLLB_ENV_METRICS_ORIGINAL && lines[k] != RULE_RANDOM;
        references[k].y = returns_of(r, lines[k], -1).mean;
        snprintf(labels[k], sizeof labels[k], "%s %.1f", optimal ? "optimal" : shown(lines[k], names[k]),
                 references[k].y);
        references[k].label = labels[k];
    }
    snprintf(title, sizeof title, "A network learns to allocate among %d clients", (int)clients);
    snprintf(subtitle, sizeof subtitle, "%s world, %s, %d seed%s; judged over %d fresh episodes: %s",
             world_names[world], algo_names[algo], (int)seeds, seeds > 1 ? "s" : "", (int)judged,
             ex_estimate_text(returns_of(r, RULE_TRAINED, -1), 2, text));
    chart.title = title;
    chart.subtitle = subtitle;
    chart.note = seeds > 1 ? "Mean over the seeds; shaded: one standard deviation between them. Higher is better."
                           : "Higher is better.";
    chart.x.label = "episode";
    chart.y.label = world == RLLB_ENV_METRICS_ORIGINAL ? "return of an episode" : "return of an episode (seconds)";
    chart.series = series;
    chart.series_count = 2;
    chart.references = references;
    chart.reference_count = world == RLLB_ENV_METRICS_ORIGINAL ? 2 : 3; /* there the best rule is optimal */
    ok = ex_line_chart_write(&chart, 0, 0, ex_path_join(out, "curve.png").text);
    free(x);
    return ok;
}

/* From the best to the worst. */
static void order_of(const run *r, int32_t order[WHO_COUNT])
{
    int32_t i, k;

    for (i = 0; i < WHO_COUNT; i++) {
        for (k = i; k > 0 && returns_of(r, order[k - 1], -1).mean < returns_of(r, i, -1).mean; k--) {
            order[k] = order[k - 1];
        }
        order[k] = i;
    }
}

static bool draw_policies(const run *r)
{
    double values[WHO_COUNT], errors[WHO_COUNT];
    ex_color colors[WHO_COUNT];
    char names[WHO_COUNT][32], subtitle[160];
    const char *categories[WHO_COUNT];
    int32_t order[WHO_COUNT], i;
    ex_bar_chart chart;

    order_of(r, order);
    memset(&chart, 0, sizeof chart);
    for (i = 0; i < WHO_COUNT; i++) {
        ex_estimate e = returns_of(r, order[i], -1);
        values[i] = 0 - e.mean;
        errors[i] = (e.high - e.low) / 2;
        colors[i] = ex_palette(order[i] == RULE_TRAINED ? 1 : order[i] == RULE_GREEDY ? 2 : 0);
        categories[i] = shown(order[i], names[i]);
    }
    snprintf(subtitle, sizeof subtitle, "%s world, %d clients, %d seed%s, %d episodes each", world_names[world],
             (int)clients, (int)seeds, seeds > 1 ? "s" : "", (int)judged);
    chart.title = "Cost of an episode";
    chart.subtitle = subtitle;
    chart.note = "Minus the return; lower is better. Bars at their ends: 95 % intervals. All meet the same flows, "
                 "tenants and noise.";
    chart.y.label = world == RLLB_ENV_METRICS_ORIGINAL ? "cost" : "cost (seconds)";
    chart.categories = categories;
    chart.category_count = WHO_COUNT;
    chart.values = values;
    chart.errors = errors;
    chart.category_colors = colors;
    return ex_bar_chart_write(&chart, 0, 0, ex_path_join(out, "policies.png").text);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static void tell(const run *r)
{
    ex_table t = { 0 };
    int32_t order[WHO_COUNT], i;
    char text[64];

    order_of(r, order);
    ex_table_cell(&t, "policy");
    ex_table_cell(&t, "return");
    ex_table_cell(&t, "trained less this");
    if (world == RLLB_ENV_METRICS_HONEST) {
        ex_table_cell(&t, "delay, ms");
        ex_table_cell(&t, "lost, %%");
    }
    ex_table_row(&t);
    for (i = 0; i < WHO_COUNT; i++) {
        ex_table_cell(&t, "%s", who_names[order[i]]);
        ex_table_cell(&t, "%s", ex_estimate_text(returns_of(r, order[i], -1), 2, text));
        if (order[i] == RULE_TRAINED) ex_table_cell(&t, "%s", "");
        else ex_table_cell(&t, "%s", ex_estimate_text(returns_of(r, RULE_TRAINED, order[i]), 2, text));
        if (world == RLLB_ENV_METRICS_HONEST) {
            ex_table_cell(&t, "%.1f", 1000 * mean_of(r, order[i], false));
            ex_table_cell(&t, "%.2f", 100 * mean_of(r, order[i], true));
        }
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
    printf("in %s: model.safetensors (seed %llu) results.json curve.csv curve.png policies.png\n", out,
           (unsigned long long)(seed + (uint64_t)r->model_seed));
}

static int work(run *r)
{
    double begin_s = ex_clock_s();
    ex_progress bar;
    int32_t k;
    int status = EX_OK;

    ex_catch_interrupts();
    ex_progress_start(&bar, "training", (int64_t)seeds * episodes, quiet);
    for (k = 0; status == EX_OK && k < seeds; k++) status = learn(r, k, &bar);
    r->seconds = ex_clock_s() - begin_s;
    if (status == EX_OK) ex_progress_end(&bar, "trained %d episodes", (int)(seeds * episodes));
    else ex_progress_end(&bar, NULL);
    if (ex_interrupted()) fprintf(stderr, "udp_train: stopped; nothing is written\n");
    if (status != EX_OK) return status;
    if (!write_curve(r) || !write_model(r) || !write_results(r)) return EX_FAILED;
    if (!draw_curve(r) || !draw_policies(r)) return EX_FAILED;
    if (!quiet) tell(r);
    return EX_OK;
}

static void run_close(run *r)
{
    int32_t k, who;

    for (k = 0; k < seeds; k++) {
        free(r->history[k]);
        for (who = 0; who < WHO_COUNT; who++) free(r->scores[k][who].returns);
    }
    rllb_nn_net_destroy(r->net);
    rllb_nn_net_destroy(r->model);
}

int main(int argc, char **argv)
{
    static run r;
    ex_lock lock = { -1 };
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    if (world == RLLB_ENV_METRICS_HONEST) honest_defaults(&program);
    else if (see == SEE_ALL) return ex_usage("see", "all is for --world honest");
    if (replay < batch) return ex_usage("replay", "%d is less than a batch of %d", (int)replay, (int)batch);
    if (hidden.count > RLLB_NN_HIDDEN_MAX) return ex_usage("hidden", "more than %d layers", RLLB_NN_HIDDEN_MAX);
    if (!ex_isa_there(isa, portable)) return EX_USAGE;
    if (!ex_folder_lock(out, &lock)) return EX_FAILED;
    status = work(&r);
    run_close(&r);
    ex_folder_unlock(&lock);
    return status;
}
