/* train.c - trains a balancing policy on the cluster of rllb_env.h: DQN, Double DQN or Dueling DQN

   Shows the loop of reinforcement learning with the two leaves of rllb: the world steps (rllb_env_cluster_step), the
   agent remembers and learns (rllb_nn_dqn_observe, _update), and nothing of it is allocated on the way. The defaults
   are the published settings for the three-server cluster; --help says what --env honest changes, and why.

   Build:   make build/train
   Run:     build/train --env honest --traffic bursty --algo dueling --out out/train
   Prints:  how the trained policy fares against the classical ones over episodes it has not seen
   Writes:  history.csv, model.safetensors, checkpoint.safetensors, results.json, reward_history.png

   A run is its settings and its seed: the same command gives the same bytes of history.csv and model.safetensors, and
   so does one that was stopped, by Ctrl-C or worse, and taken up again with --resume. */

#include "cluster.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AVERAGE = 50, CHECK_EPISODES = 200, JUDGE_EPISODES = 300, REPLAY_MOST = 5000000 };

static const char *const algo_names[] = { "dqn", "dueling", NULL };
static const char *const observe_names[] = { "loads", "arrival", NULL };
static const char *const keep_names[] = { "last", "best", NULL };
static const char *const loss_names[] = { "huber", "mse", NULL };
enum { ALGO_DQN, ALGO_DUELING };
enum { OBSERVE_LOADS, OBSERVE_ARRIVAL };
enum { KEEP_LAST, KEEP_BEST };
enum { LOSS_HUBER, LOSS_MSE };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static ex_world world = { .mode = RLLB_ENV_SEED0 };
static int32_t traffic = RLLB_ENV_LOW, algo = ALGO_DQN, observe = OBSERVE_LOADS, keep = KEEP_LAST, isa, loss;
static int32_t episodes = 800, n_step = 1, batch = 128, learn_every = 1, replay = 50000, check_every = 20;
static int32_t save_every = 200;
static bool double_dqn, prioritized, portable, quiet;
static double lr = 1e-3, lr_half, gamma_ = 0.95, decay = 0.995, floor_ = 0.01, reward_scale = 1, clip = 1;
static uint64_t seed = 1;
static const char *resume, *out = "out/train";

static ex_option options[] = {
    EX_HEADING("World"),
    EX_CHOICE("env", &world.mode, ex_mode_names, "the published cluster, or the one where crashing does not pay"),
    EX_CHOICE("traffic", &traffic, ex_traffic_names, "what arrives"),
    EX_STRING("trace", &world.trace_path, "FILE", "recorded load, two columns time and work; implies --traffic trace"),
    EX_LIST("rates", &world.rates, 1e-6, 1, "X,X,...", "work each server does in a step; as many servers"),
    EX_HEADING("Learner"),
    EX_CHOICE("algo", &algo, algo_names, "kind of network"),
    EX_FLAG("double", &double_dqn, "Double DQN: choose by the one network, value by the other"),
    EX_FLAG("per", &prioritized, "prioritised replay"),
    EX_CHOICE("observe", &observe, observe_names, "what it sees: the loads, or besides the work that came last"),
    EX_INT("n-step", &n_step, 1, 64, "N", "rewards summed before bootstrapping"),
    EX_DOUBLE("gamma", &gamma_, 0, 1, "X", "discount of later rewards"),
    EX_DOUBLE("lr", &lr, 1e-9, 10, "X", "learning rate of Adam"),
    EX_DOUBLE("lr-half", &lr_half, 0, 1e12, "N", "updates after which the learning rate has halved; 0: never"),
    EX_CHOICE("loss", &loss, loss_names, "of an update"),
    EX_DOUBLE("clip", &clip, 0, 1e9, "X", "greatest norm of a gradient; 0: any"),
    EX_INT("batch", &batch, 1, 65536, "N", "transitions to an update"),
    EX_INT("learn-every", &learn_every, 1, 1000000, "N", "steps to an update"),
    EX_INT("replay", &replay, 1, REPLAY_MOST, "N", "transitions remembered"),
    EX_DOUBLE("epsilon-decay", &decay, 0, 1, "X", "share of random actions, times this after each episode"),
    EX_DOUBLE("epsilon-floor", &floor_, 0, 1, "X", "but never below"),
    EX_DOUBLE("reward-scale", &reward_scale, 1e-9, 1e9, "X", "what the learner sees of a reward"),
    EX_HEADING("Run"),
    EX_INT("episodes", &episodes, 1, 10000000, "N", "episodes to train"),
    EX_SEED("seed", &seed, "of everything that is random"),
    EX_INT("check-every", &check_every, 1, 10000000, "N",
           "episodes between two checks of the policy without exploration"),
    EX_CHOICE("keep", &keep, keep_names, "which network is saved: the last, or the best of those checks"),
    EX_INT("save-every", &save_every, 1, 10000000, "N", "episodes between two checkpoints"),
    EX_STRING("resume", &resume, "FILE", "go on from a checkpoint.safetensors, with its settings"),
    EX_CHOICE("isa", &isa, ex_isa_names, "instruction set"),
    EX_FLAG("portable", &portable, "arithmetic that gives the same bits on every machine; slower"),
    EX_STRING("out", &out, "DIR", "folder for the results; with --resume that of the checkpoint"),
    EX_FLAG("quiet", &quiet, "no progress, no figures"),
};

/* What --env honest starts from instead. The loads alone hide whether the traffic is in a burst. A learner that has to
   guess takes a full server for the sign of one, and then finds that dropping work "ends" the burst: it gives up a
   server. The work that came last tells; so it is observed. Losses are rare and large, and their mean is the point, so
   the loss of an update is quadratic (Huber's leans to the median, which leaves them out), with rewards in the
   hundreds scaled down to match. Steps are cheap and updates are not: eight steps to an update see more of the world
   in the same time. The load of a recorded trace drifts for hours too, which nothing observed tells: there the learner
   looks less far ahead. */
static void honest_defaults(const ex_program *p)
{
    if (!ex_option_given(p, "traffic")) traffic = RLLB_ENV_BURSTY;
    if (!ex_option_given(p, "algo")) algo = ALGO_DUELING;
    if (!ex_option_given(p, "observe")) observe = OBSERVE_ARRIVAL;
    if (!ex_option_given(p, "gamma")) gamma_ = world.trace_path ? 0.8 : 0.98;
    if (!ex_option_given(p, "lr-half")) lr_half = 16000;
    if (!ex_option_given(p, "loss")) loss = LOSS_MSE;
    if (!ex_option_given(p, "clip")) clip = 10;
    if (!ex_option_given(p, "learn-every")) learn_every = 8;
    if (!ex_option_given(p, "replay")) replay = 200000;
    if (!ex_option_given(p, "epsilon-decay")) decay = 0.998;
    if (!ex_option_given(p, "epsilon-floor")) floor_ = 0.1;
    if (!ex_option_given(p, "reward-scale")) reward_scale = 0.01;
    if (!ex_option_given(p, "episodes")) episodes = 6400;
    if (!ex_option_given(p, "check-every")) check_every = 50;
    if (!ex_option_given(p, "keep")) keep = KEEP_BEST;
    if (!ex_option_given(p, "save-every")) save_every = 1600;
}

static const char details[] =
    "With --env honest other defaults apply: --traffic bursty --algo dueling --observe arrival --gamma 0.98\n"
    "(0.8 with a trace) --lr-half 16000 --loss mse --clip 10 --learn-every 8 --replay 200000\n"
    "--epsilon-decay 0.998 --epsilon-floor 0.1 --reward-scale 0.01 --episodes 6400 --check-every 50\n"
    "--keep best --save-every 1600.\n"
    "\n"
    "Writes history.csv, model.safetensors (for stress_test), checkpoint.safetensors (for --resume; also on Ctrl-C),\n"
    "results.json and reward_history.png.\n";

static ex_program program = { .name = "train", .summary = "trains a policy that balances load", .details = details,
                              .options = options, .option_count = EX_COUNT(options) };

/* Of the options, those that make the run what it is: they go into every file, and --resume takes them from there. */
static bool is_setting(const ex_option *o)
{
    static const char *const others[] = { "save-every", "resume", "out", "quiet", NULL };
    int32_t i;

    if (o->kind == EX_KIND_HEADING) return false;
    for (i = 0; others[i]; i++) {
        if (strcmp(o->name, others[i]) == 0) return false;
    }
    return true;
}

/* The value as one would type it; reads back as the same. */
static const char *setting_text(const ex_option *o, char text[512])
{
    char number[32];
    size_t used = 0;
    int32_t i;

    text[0] = '\0';
    switch (o->kind) {
    case EX_KIND_FLAG: snprintf(text, 512, "%s", *o->to.flag ? "yes" : "no"); break;
    case EX_KIND_INT: snprintf(text, 512, "%ld", (long)*o->to.i32); break;
    case EX_KIND_SEED: snprintf(text, 512, "%llu", (unsigned long long)*o->to.u64); break;
    case EX_KIND_DOUBLE: snprintf(text, 512, "%s", ex_number_double(*o->to.f64, number)); break;
    case EX_KIND_STRING: snprintf(text, 512, "%s", *o->to.string ? *o->to.string : ""); break;
    case EX_KIND_CHOICE: snprintf(text, 512, "%s", o->names[*o->to.i32]); break;
    case EX_KIND_LIST:
        for (i = 0; i < o->to.list->count && used < 480; i++) {
            used += (size_t)snprintf(text + used, 512 - used, "%s%s", i ? "," : "",
                                     ex_number_double(o->to.list->values[i], number));
        }
        break;
    default: break; /* train has no others */
    }
    return text;
}

/* ---- the run ----------------------------------------------------------------------------------------------- */

/* One row of the history, as the checkpoint holds it. NaN: there is no such figure. */
enum { H_RETURN, H_EPSILON, H_LOSS, H_LENGTH, H_DROPPED, H_CHECK, H_COLUMNS };

typedef struct run {
    rllb_nn_dqn *agent;
    rllb_env_cluster *env;
    rllb_nn_net *best; /* the network that did best in a check */
    float *seen, *next; /* [inputs] before and after a step */
    double *history;    /* [episodes][H_COLUMNS] */
    unsigned char *env_state;
    size_t env_bytes;
    int32_t inputs, done; /* episodes */
    int64_t counter[2];   /* steps in all; episode of `best`, 0 = none yet */
    double best_return[1];
    double seconds;
} run;

static void run_close(run *r)
{
    rllb_nn_dqn_destroy(r->agent);
    rllb_env_cluster_destroy(r->env);
    rllb_nn_net_destroy(r->best);
    free(r->seen);
    free(r->next);
    free(r->history);
    free(r->env_state);
}

static int run_open(run *r)
{
    rllb_env_cluster_desc e = ex_world_desc(&world, (rllb_env_traffic)traffic);
    rllb_nn_dqn_desc d;
    rllb_nn_net_desc n;

    memset(r, 0, sizeof *r);
    e.seed = seed;
    e.stream = EX_STREAM_TRAIN;
    r->env = rllb_env_cluster_create(&e);
    if (!r->env) {
        return world.trace ? ex_fail("%s: this trace cannot be cut into steps", world.trace_path)
                           : ex_fail("the cluster could not be made");
    }
    r->inputs = world.servers + (observe == OBSERVE_ARRIVAL);
    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = r->inputs;
    d.net.outputs = world.servers;
    d.net.dueling = algo == ALGO_DUELING ? 64 : 0;
    d.net.isa = (rllb_nn_isa)isa;
    d.net.portable = portable;
    d.opt.lr.from = lr;
    if (lr_half > 0) {
        d.opt.lr.curve = RLLB_NN_EXPONENTIAL;
        d.opt.lr.rate = pow(0.5, 1 / lr_half);
        d.opt.lr.to = lr / 1000;
    }
    d.replay.capacity = replay;
    d.replay.n_step = n_step;
    d.replay.prioritized = prioritized;
    d.double_dqn = double_dqn;
    d.loss = loss == LOSS_MSE ? RLLB_NN_MSE : RLLB_NN_HUBER;
    d.opt.clip_norm = clip > 0 ? (float)clip : -1;
    d.gamma = gamma_ > 0 ? (float)gamma_ : -1;
    d.batch = batch;
    d.epsilon.curve = RLLB_NN_EXPONENTIAL;
    d.epsilon.from = 1;
    d.epsilon.rate = decay;
    d.epsilon.to = floor_;
    d.seed = seed;
    r->agent = rllb_nn_dqn_create(&d);
    if (r->agent) {
        rllb_nn_net_query(rllb_nn_dqn_net(r->agent), &n);
        r->best = rllb_nn_net_create(&n);
    }
    r->env_bytes = rllb_env_cluster_state_size(r->env);
    r->env_state = calloc(r->env_bytes, 1);
    r->seen = calloc((size_t)r->inputs, sizeof *r->seen);
    r->next = calloc((size_t)r->inputs, sizeof *r->next);
    r->history = calloc((size_t)episodes * H_COLUMNS, sizeof *r->history);
    if (!r->agent || !r->best || !r->env_state || !r->seen || !r->next || !r->history) {
        return ex_fail("no memory for a replay of %d and %d episodes", (int)replay, (int)episodes);
    }
    return EX_OK;
}

/* One episode of interaction and learning. */
static void episode(run *r)
{
    double *row = r->history + (size_t)r->done * H_COLUMNS, total = 0, losses = 0, length = 0, arrived;
    uint8_t terminated = 0, truncated = 0;
    int64_t updates = 0;

    row[H_EPSILON] = rllb_nn_dqn_epsilon(r->agent);
    rllb_env_cluster_reset(r->env);
    ex_observe(r->env, 1, world.servers, r->inputs, r->seen);
    while (!terminated && !truncated) {
        int32_t action = rllb_nn_dqn_act(r->agent, r->seen, NULL);
        rllb_nn_dqn_report report;
        float reward = 0;
        rllb_env_cluster_step(r->env, &action, &reward, &terminated, &truncated);
        ex_observe(r->env, 1, world.servers, r->inputs, r->next);
        rllb_nn_dqn_observe(r->agent, r->seen, action, reward * (float)reward_scale, r->next, NULL, terminated != 0,
                            truncated != 0);
        memcpy(r->seen, r->next, (size_t)r->inputs * sizeof *r->seen);
        if (++r->counter[0] % learn_every == 0 && rllb_nn_dqn_update(r->agent, &report) == RLLB_OK) {
            losses += (double)report.loss;
            updates++;
        }
        total += (double)reward;
        length++;
    }
    arrived = rllb_env_cluster_arrived_total(r->env)[0];
    row[H_RETURN] = total;
    row[H_LOSS] = updates ? losses / (double)updates : (double)NAN;
    row[H_LENGTH] = length;
    row[H_DROPPED] = arrived > 0 ? rllb_env_cluster_dropped_total(r->env)[0] / arrived : 0;
    row[H_CHECK] = (double)NAN;
    r->done++;
}

static bool judge(const rllb_nn_net *net, rllb_policy_kind kind, const char *name, int32_t count, uint64_t stream,
                  ex_score *score)
{
    rllb_env_cluster_desc e = ex_world_desc(&world, (rllb_env_traffic)traffic);
    ex_judged who;

    who.name = name;
    who.net = net;
    who.kind = kind;
    return ex_judge(&e, &who, count, seed, stream, score);
}

/* The policy as it is, without exploration, on episodes kept for this. */
static bool check(run *r)
{
    const rllb_nn_net *net = rllb_nn_dqn_net(r->agent);
    ex_score score;

    if (r->done % check_every != 0) return true;
    if (!judge(net, RLLB_POLICY_ROUND_ROBIN, "trained", CHECK_EPISODES, EX_STREAM_CHECK, &score)) return false;
    r->history[(size_t)(r->done - 1) * H_COLUMNS + H_CHECK] = score.mean_return;
    if (r->counter[1] == 0 || score.mean_return > r->best_return[0]) {
        r->counter[1] = r->done;
        r->best_return[0] = score.mean_return;
        rllb_nn_net_copy(r->best, net);
    }
    ex_score_free(&score);
    return true;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

/* The network that is the outcome. */
static rllb_nn_net *chosen(run *r)
{
    if (keep == KEEP_LAST || r->counter[1] == 0) rllb_nn_net_copy(r->best, rllb_nn_dqn_net(r->agent));
    return r->best;
}

static double average_at(const run *r, int32_t at, int32_t window)
{
    int32_t first = at - window + 1, i;
    double sum = 0;

    if (first < 0) first = 0;
    for (i = first; i <= at; i++) sum += r->history[(size_t)i * H_COLUMNS + H_RETURN];
    return sum / (at - first + 1);
}

static void csv_figure(ex_csv *csv, double value)
{
    if (isnan(value)) ex_csv_string(csv, "");
    else ex_csv_double(csv, value);
}

static bool write_history(const run *r)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i;
    bool ok;

    ex_csv_header(&csv, "episode,return,moving_average,epsilon,loss,length,dropped_share,greedy_return");
    for (i = 0; i < r->done; i++) {
        const double *row = r->history + (size_t)i * H_COLUMNS;
        ex_csv_int(&csv, i + 1);
        ex_csv_double(&csv, row[H_RETURN]);
        ex_csv_double(&csv, average_at(r, i, AVERAGE));
        ex_csv_double(&csv, row[H_EPSILON]);
        csv_figure(&csv, row[H_LOSS]);
        ex_csv_double(&csv, row[H_LENGTH]);
        ex_csv_double(&csv, row[H_DROPPED]);
        csv_figure(&csv, row[H_CHECK]);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(out, "history.csv").text);
    ex_text_free(&text);
    return ok;
}

/* Key and value pairs of a file; the texts live here. */
enum { METAS_MOST = 48 };

typedef struct metas {
    rllb_nn_meta meta[METAS_MOST];
    char text[METAS_MOST][512], key[METAS_MOST][48], net[80];
    int32_t count;
} metas;

static void metas_add(metas *m, const char *prefix, const char *key, const char *value)
{
    if (m->count == METAS_MOST) return;
    snprintf(m->key[m->count], sizeof m->key[0], "%s%s", prefix, key);
    snprintf(m->text[m->count], sizeof m->text[0], "%s", value);
    m->meta[m->count].key = m->key[m->count];
    m->meta[m->count].value = m->text[m->count];
    m->count++;
}

/* What a file says of itself; the network's own entries come first. */
static void metas_fill(metas *m, const rllb_nn_net *net, bool all)
{
    char text[512];
    size_t i;

    memset(m, 0, sizeof *m);
    m->count = rllb_nn_net_meta(net, m->net, m->meta);
    metas_add(m, "", "env", ex_mode_names[world.mode]);
    metas_add(m, "", "traffic", ex_traffic_names[traffic]);
    metas_add(m, "", "algo", algo_names[algo]);
    metas_add(m, "", "rates", ex_rates_text(world.rate, world.servers, text));
    metas_add(m, "", "observe", observe_names[observe]);
    metas_add(m, "", "rllb", RLLB_VERSION_STRING);
    for (i = 0; all && i < sizeof options / sizeof *options; i++) {
        if (is_setting(&options[i])) metas_add(m, "train.", options[i].name, setting_text(&options[i], text));
    }
}

static bool write_model(run *r)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive archive = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    static metas m;

    rllb_nn_net_entries(chosen(r), "", &archive);
    metas_fill(&m, r->best, false);
    return ex_archive_write(&archive, m.meta, m.count, ex_path_join(out, "model.safetensors").text);
}

/* All that a run is made of: the learner, the world, the history, the best network. One list serves both ways. */
enum { CHECKPOINT_ENTRIES = RLLB_NN_DQN_ENTRIES_MAX + RLLB_NN_NET_ENTRIES_MAX + 8 };

static void checkpoint_list(run *r, rllb_nn_archive *archive)
{
    rllb_nn_dqn_entries(r->agent, archive);
    rllb_nn_net_entries(r->best, "best.", archive);
    rllb_nn_archive_add(archive, "run.world", RLLB_NN_U8, (int64_t)r->env_bytes, 0, r->env_state);
    rllb_nn_archive_add(archive, "run.counters", RLLB_NN_I64, 2, 0, r->counter);
    rllb_nn_archive_add(archive, "run.best", RLLB_NN_F64, 1, 0, r->best_return);
    rllb_nn_archive_add(archive, "run.history", RLLB_NN_F64, r->done, H_COLUMNS, r->history);
}

static bool write_checkpoint(run *r)
{
    rllb_nn_entry entries[CHECKPOINT_ENTRIES];
    rllb_nn_archive archive = { entries, 0, CHECKPOINT_ENTRIES, 0 };
    static metas m;

    if (rllb_env_cluster_save(r->env, r->env_state, r->env_bytes) != RLLB_OK) return false;
    checkpoint_list(r, &archive);
    metas_fill(&m, r->best, true);
    return ex_archive_write(&archive, m.meta, m.count, ex_path_join(out, "checkpoint.safetensors").text);
}

/* ---- resume ------------------------------------------------------------------------------------------------ */

/* The settings of the checkpoint become those of this run, as if they had been typed. Number of episodes, folder and
   place of the trace may differ; all else may be repeated, but not changed. */
static int settings_load(const ex_text *file)
{
    enum { MOST = METAS_MOST + 1 };
    static char typed[MOST][560];
    static const char *const free_ones[] = { "episodes", "trace", NULL };
    char *argv[MOST], text[512], now[512], key[64];
    const char *own_resume = resume, *own_out = out, *own_trace = world.trace_path;
    int32_t own_episodes = episodes, argc = 1, status, k;
    bool out_given = ex_option_given(&program, "out"), episodes_given = ex_option_given(&program, "episodes");
    size_t i;

    argv[0] = typed[0];
    for (i = 0; i < sizeof options / sizeof *options; i++) {
        const ex_option *o = &options[i];
        bool may_differ = false;
        if (!is_setting(o)) continue;
        for (k = 0; free_ones[k]; k++) may_differ = may_differ || strcmp(o->name, free_ones[k]) == 0;
        snprintf(key, sizeof key, "train.%s", o->name);
        if (rllb_nn_file_meta(file->data, file->size, key, text, sizeof text) != RLLB_OK) {
            return ex_fail("%s: not a checkpoint of train: it does not say its --%s", resume, o->name);
        }
        if (o->given && !may_differ && strcmp(setting_text(o, now), text) != 0) {
            return ex_usage(o->name, "is %s in %s; a run goes on with the settings it began with", text, resume);
        }
        if (!text[0] || argc == MOST) continue;
        snprintf(typed[argc], sizeof typed[0], "--%s=%s", o->name, text);
        argv[argc] = typed[argc];
        argc++;
    }
    status = ex_options_parse(&program, argc, argv);
    if (status != EX_GO_ON) return EX_FAILED;
    if (episodes_given) episodes = own_episodes;
    if (own_trace) world.trace_path = own_trace;
    resume = own_resume;
    out = own_out;
    if (!out_given) { /* the checkpoint's folder */
        static char folder[1024];
        const char *slash = strrchr(resume, '/');
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - resume) + (slash == resume) : 1,
                 slash ? resume : ".");
        out = folder;
    }
    return EX_OK;
}

static int checkpoint_load(run *r, const ex_text *file)
{
    rllb_nn_entry entries[CHECKPOINT_ENTRIES];
    rllb_nn_archive archive = { entries, 0, CHECKPOINT_ENTRIES, 0 };
    rllb_nn_dtype dtype;
    rllb_logger logger;
    rllb_status status;
    ex_detail detail = { "run.history" };
    int64_t rows = 0, columns = 0;
    size_t offset;

    logger.fn = ex_detail_log;
    logger.user = &detail;
    status = rllb_nn_file_query(file->data, file->size, "run.history", &dtype, &rows, &columns, &offset);
    if (status == RLLB_OK && rows > episodes) {
        return ex_usage("episodes", "%d, but %s has done %lld already", (int)episodes, resume, (long long)rows);
    }
    if (status == RLLB_OK && rows < 1) status = RLLB_ERROR_SHAPE;
    if (status == RLLB_OK) {
        r->done = (int32_t)rows;
        checkpoint_list(r, &archive);
        status = rllb_nn_archive_load(&archive, file->data, file->size, &logger);
    }
    if (status == RLLB_OK) {
        snprintf(detail.text, sizeof detail.text, "run.world");
        status = rllb_env_cluster_load(r->env, r->env_state, r->env_bytes);
    }
    if (status == RLLB_OK) {
        snprintf(detail.text, sizeof detail.text, "run.counters");
        if (r->counter[0] < r->done || r->counter[1] < 0 || r->counter[1] > r->done) status = RLLB_ERROR_FORMAT;
        if (rllb_nn_dqn_episodes(r->agent) != r->done) status = RLLB_ERROR_FORMAT;
    }
    if (status == RLLB_OK) {
        const char *kernels = rllb_nn_kernels_name(rllb_nn_net_kernels(r->best));
        char before[64];
        if (rllb_nn_file_meta(file->data, file->size, "isa", before, sizeof before) == RLLB_OK &&
            strcmp(before, kernels) != 0) {
            ex_warn("%s was computed with %s and goes on with %s: not bit for bit", resume, before, kernels);
        }
        return EX_OK;
    }
    return ex_fail("%s: not a checkpoint of this run: %s: %s", resume, detail.text, rllb_status_words(status));
}

/* ---- the outcome ------------------------------------------------------------------------------------------- */

/* The trained policy and the classical ones over the same episodes that nobody trained on. */
typedef struct outcome {
    ex_score trained, classical[RLLB_POLICY_NUM];
    int32_t best; /* of the classical ones */
    ex_difference ahead, dropped; /* trained less best */
} outcome;

static void outcome_free(outcome *o)
{
    int32_t k;

    ex_score_free(&o->trained);
    for (k = 0; k < RLLB_POLICY_NUM; k++) ex_score_free(&o->classical[k]);
}

static bool outcome_find(run *r, outcome *o)
{
    int32_t k;

    memset(o, 0, sizeof *o);
    if (!judge(chosen(r), RLLB_POLICY_ROUND_ROBIN, "trained", JUDGE_EPISODES, EX_STREAM_JUDGE, &o->trained)) {
        return false;
    }
    for (k = 0; k < RLLB_POLICY_NUM; k++) {
        rllb_policy_kind kind = (rllb_policy_kind)k;
        if (!judge(NULL, kind, rllb_policy_name(kind), JUDGE_EPISODES, EX_STREAM_JUDGE, &o->classical[k])) return false;
        if (o->classical[k].mean_return > o->classical[o->best].mean_return) o->best = k;
    }
    o->ahead = ex_returns_differ(&o->trained, &o->classical[o->best]);
    o->dropped = ex_dropped_differ(&o->trained, &o->classical[o->best]);
    return true;
}

static void json_score(ex_json *j, const ex_score *s)
{
    ex_json_row(j, NULL);
    ex_json_string(j, "policy", s->name);
    ex_json_double(j, "mean_return", s->mean_return);
    ex_json_double(j, "return_ci95", s->return_ci95);
    ex_json_double(j, "mean_length", s->mean_length);
    ex_json_double(j, "dropped_share", s->dropped_share);
    ex_json_end(j);
}

static void json_setting(ex_json *j, const ex_option *o)
{
    int32_t i;

    switch (o->kind) {
    case EX_KIND_FLAG: ex_json_bool(j, o->name, *o->to.flag); break;
    case EX_KIND_INT: ex_json_int(j, o->name, *o->to.i32); break;
    case EX_KIND_SEED: ex_json_uint(j, o->name, *o->to.u64); break;
    case EX_KIND_DOUBLE: ex_json_double(j, o->name, *o->to.f64); break;
    case EX_KIND_STRING: ex_json_string(j, o->name, *o->to.string); break;
    case EX_KIND_CHOICE: ex_json_string(j, o->name, o->names[*o->to.i32]); break;
    case EX_KIND_LIST:
        ex_json_row_array(j, o->name);
        for (i = 0; i < world.servers; i++) ex_json_float(j, NULL, world.rate[i]);
        ex_json_end(j);
        break;
    default: break;
    }
}

static bool write_results(run *r, const outcome *o)
{
    rllb_env_cluster_desc e;
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    size_t i;
    int32_t k;
    bool ok;

    rllb_env_cluster_query(r->env, &e);
    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "train");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    ex_json_object(&j, "settings");
    for (i = 0; i < sizeof options / sizeof *options; i++) {
        if (is_setting(&options[i])) json_setting(&j, &options[i]);
    }
    ex_json_end(&j);
    ex_json_string(&j, "kernels", rllb_nn_kernels_name(rllb_nn_net_kernels(r->best)));
    ex_json_int(&j, "parameters", rllb_nn_net_parameters(r->best));
    ex_json_double(&j, "utilisation", rllb_env_cluster_mean_utilisation(r->env));
    ex_json_double(&j, "seconds", r->seconds);
    ex_json_int(&j, "steps", r->counter[0]);
    ex_json_int(&j, "updates", rllb_nn_dqn_updates(r->agent));
    ex_json_double(&j, "moving_average_at_end", average_at(r, r->done - 1, AVERAGE));
    if (keep == KEEP_BEST && r->counter[1] > 0) ex_json_int(&j, "kept_network_of_episode", r->counter[1]);
    else ex_json_int(&j, "kept_network_of_episode", r->done);
    ex_json_int(&j, "judged_episodes", JUDGE_EPISODES);
    ex_json_array(&j, "results");
    json_score(&j, &o->trained);
    for (k = 0; k < RLLB_POLICY_NUM; k++) json_score(&j, &o->classical[k]);
    ex_json_end(&j);
    ex_json_object(&j, "trained_less_best_classical");
    ex_json_string(&j, "best_classical", o->classical[o->best].name);
    ex_json_double(&j, "return", o->ahead.mean);
    ex_json_double(&j, "return_ci95", o->ahead.ci95);
    ex_json_double(&j, "dropped_share", o->dropped.mean);
    ex_json_double(&j, "dropped_share_ci95", o->dropped.ci95);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Early episodes are bad beyond measure; the axis leaves out the worst of them, so that what matters can be seen. */
static double axis_low(const run *r, int32_t window, double reference)
{
    double *sorted = malloc((size_t)r->done * sizeof *sorted), low = reference;
    int32_t i;

    if (!sorted) return 0;
    for (i = 0; i < r->done; i++) sorted[i] = average_at(r, i, window);
    qsort(sorted, (size_t)r->done, sizeof *sorted, by_value);
    if (sorted[r->done / 20] < low) low = sorted[r->done / 20];
    free(sorted);
    return 1.15 * low;
}

static bool draw(const run *r, const outcome *o)
{
    size_t n = (size_t)r->done, i;
    double *x = malloc(5 * n * sizeof *x), *returns = x + n, *average = x + 2 * n, *at = x + 3 * n, *greedy = x + 4 * n;
    int32_t checks = 0, window = r->done / 32 > AVERAGE ? r->done / 32 : AVERAGE; /* long runs need a calmer line */
    char title[160], subtitle[200], label[96], note[240], name[80], *at_sign;
    ex_series series[3];
    ex_reference reference;
    ex_line_chart chart;
    bool ok;

    if (!x) {
        ex_fail("no memory for the picture");
        return false;
    }
    for (i = 0; i < n; i++) {
        double value = r->history[i * H_COLUMNS + H_CHECK];
        x[i] = (double)i + 1;
        returns[i] = r->history[i * H_COLUMNS + H_RETURN];
        average[i] = average_at(r, (int32_t)i, window);
        if (isnan(value)) continue;
        at[checks] = (double)i + 1;
        greedy[checks++] = value;
    }
    memset(series, 0, sizeof series);
    memset(&chart, 0, sizeof chart);
    memset(&reference, 0, sizeof reference);
    series[0].name = "return of an episode";
    series[0].x = series[1].x = x;
    series[0].y = returns;
    series[0].count = series[1].count = r->done;
    series[0].color = ex_alpha(ex_palette(0), r->done > 2000 ? 0.1 : 0.22); /* many lines on one another */
    series[0].width = 1;
    snprintf(name, sizeof name, "mean of the last %d", (int)window);
    series[1].name = name;
    series[1].y = average;
    series[1].color = ex_palette(0);
    series[1].width = 3;
    series[2].name = "without exploration";
    series[2].x = at;
    series[2].y = greedy;
    series[2].count = checks;
    series[2].color = ex_palette(1);
    series[2].width = 2;
    snprintf(title, sizeof title, "%s%s learns to balance %d servers", double_dqn ? "Double " : "",
             algo == ALGO_DUELING ? "Dueling DQN" : "DQN", (int)world.servers);
    snprintf(subtitle, sizeof subtitle,
             "%s cluster, %s traffic, seed %llu; the policy kept: %.1f over %d fresh episodes",
             ex_mode_names[world.mode], ex_traffic_names[traffic], (unsigned long long)seed, o->trained.mean_return,
             JUDGE_EPISODES);
    snprintf(label, sizeof label, "%s %.1f", o->classical[o->best].name, o->classical[o->best].mean_return);
    for (at_sign = label; *at_sign; at_sign++) {
        if (*at_sign == '_') *at_sign = ' ';
    }
    snprintf(note, sizeof note, "Dashed: the best classical policy, %s. Without exploration: greedy, %d episodes kept "
             "for this, every %d episodes. Higher is better.", o->classical[o->best].name, CHECK_EPISODES,
             (int)check_every);
    reference.label = label;
    reference.y = o->classical[o->best].mean_return;
    chart.title = title;
    chart.subtitle = subtitle;
    chart.note = note;
    chart.x.label = "episode";
    chart.y.label = "return of an episode";
    chart.y.low = axis_low(r, window, reference.y);
    chart.y.high = 0;
    chart.series = series;
    chart.series_count = 3;
    chart.references = &reference;
    chart.reference_count = 1;
    ok = ex_line_chart_write(&chart, 0, 0, ex_path_join(out, "reward_history.png").text);
    free(x);
    return ok;
}

static void tell(const outcome *o)
{
    const ex_score *best = &o->classical[o->best];
    const char *verdict = "level with";

    if (o->ahead.mean > o->ahead.ci95) verdict = "better than";
    if (o->ahead.mean < -o->ahead.ci95) verdict = "worse than";
    printf("trained policy over %d fresh episodes: return %.2f, %s the best classical one, %s (%.2f), by %+.2f "
           "\302\261 %.2f; dropped %.2f %% of the work (%s %.2f %%)\n",
           JUDGE_EPISODES, o->trained.mean_return, verdict, best->name, best->mean_return, o->ahead.mean, o->ahead.ci95,
           100 * o->trained.dropped_share, best->name, 100 * best->dropped_share);
    printf("in %s: history.csv model.safetensors checkpoint.safetensors results.json reward_history.png\n", out);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int learn(run *r)
{
    double begin_s = ex_clock_s();
    ex_progress bar;

    ex_catch_interrupts();
    ex_progress_start(&bar, "training", episodes, quiet);
    while (r->done < episodes) {
        episode(r);
        if (!check(r)) return EX_FAILED;
        ex_progress_step(&bar, r->done, "episode %d, return %.1f", (int)r->done, average_at(r, r->done - 1, AVERAGE));
        if (ex_interrupted()) break;
        if (r->done % save_every == 0 && r->done < episodes && !write_checkpoint(r)) return EX_FAILED;
    }
    r->seconds = ex_clock_s() - begin_s;
    if (!write_checkpoint(r)) return EX_FAILED;
    if (r->done < episodes) {
        ex_progress_end(&bar, NULL);
        fprintf(stderr, "train: stopped after %d of %d episodes; go on with: train --resume %s\n", (int)r->done,
                (int)episodes, ex_path_join(out, "checkpoint.safetensors").text);
        return ex_interrupt_status();
    }
    ex_progress_end(&bar, "trained %d episodes, %lld updates", (int)r->done, (long long)rllb_nn_dqn_updates(r->agent));
    return EX_OK;
}

static int finish(run *r)
{
    outcome o;
    bool ok = outcome_find(r, &o) && write_history(r) && write_model(r) && write_results(r, &o) && draw(r, &o);

    if (ok && !quiet) tell(&o);
    outcome_free(&o);
    return ok ? EX_OK : EX_FAILED;
}

static int settle(ex_text *file)
{
    int status = EX_OK;

    if (resume) {
        if (!ex_file_read(resume, (size_t)1 << 31, file)) return EX_FAILED;
        if (rllb_nn_file_check(file->data, file->size, NULL) != RLLB_OK) {
            return ex_fail("%s: not a checkpoint: %s", resume,
                           rllb_status_words(rllb_nn_file_check(file->data, file->size, NULL)));
        }
        status = settings_load(file);
    } else if (world.mode == RLLB_ENV_HONEST) {
        honest_defaults(&program);
    }
    if (status != EX_OK) return status;
    if (world.trace_path && !ex_option_given(&program, "traffic")) traffic = RLLB_ENV_TRACE;
    if (traffic == RLLB_ENV_TRACE && !world.trace_path) return ex_usage("traffic", "trace needs --trace FILE");
    if (traffic != RLLB_ENV_TRACE && world.trace_path) {
        return ex_usage("trace", "has no use with --traffic %s", ex_traffic_names[traffic]);
    }
    if (world.rates.count == 1) return ex_usage("rates", "a balancer needs two servers or more");
    if (replay < batch) return ex_usage("replay", "%d is less than a batch of %d", (int)replay, (int)batch);
    return ex_isa_there(isa, portable) ? EX_OK : EX_USAGE;
}

int main(int argc, char **argv)
{
    ex_text file = { 0 };
    ex_lock lock = { -1 };
    run r;
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    memset(&r, 0, sizeof r);
    status = settle(&file);
    if (status == EX_OK && !ex_world_open(&world)) status = EX_FAILED;
    if (status == EX_OK) status = run_open(&r);
    if (status == EX_OK && resume) status = checkpoint_load(&r, &file);
    ex_text_free(&file);
    if (status == EX_OK && !ex_folder_lock(out, &lock)) status = EX_FAILED;
    if (status == EX_OK) status = learn(&r);
    if (status == EX_OK) status = finish(&r);
    run_close(&r);
    ex_world_close(&world);
    ex_folder_unlock(&lock);
    return status;
}
