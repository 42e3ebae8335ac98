/* study.c - see study.h */

#include "study.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool.h"

const char *const ex_algo_names[] = { "dqn", "dueling", NULL };

/* ---- settings ---------------------------------------------------------------------------------------------- */

void ex_trial_default(ex_trial *t)
{
    memset(t, 0, sizeof *t);
    t->mode = RLLB_ENV_SEED0;
    t->traffic = RLLB_ENV_HIGH;
    t->lr = 1e-3;
    t->gamma = 0.99;
    t->tau = 0.005;
    t->clip = 1;
    t->epsilon_decay = 0.995;
    t->epsilon_floor = 0.01;
    t->batch = 128;
    t->replay = 50000;
    t->n_step = 1;
    t->learn_every = 1;
    t->episodes = 800;
    t->seed = 1;
}

/* All settings as text: the head of a row of runs.csv and what the number in a file's name is made from. */
static const char settings_header[] =
    "env,traffic,algo,double,per,target,replay_on,learns,lr,gamma,tau,clip,epsilon_decay,epsilon_floor,epsilon_fixed,"
    "batch,replay,n_step,learn_every,soft_every,episodes,portable,seed";

static void settings_row(const ex_trial *t, ex_csv *csv)
{
    char seed[24];

    ex_csv_string(csv, ex_mode_names[t->mode]);
    ex_csv_string(csv, ex_traffic_names[t->traffic]);
    ex_csv_string(csv, ex_algo_names[t->algo]);
    ex_csv_int(csv, t->double_dqn);
    ex_csv_int(csv, t->prioritized);
    ex_csv_int(csv, !t->no_target);
    ex_csv_int(csv, !t->no_replay);
    ex_csv_int(csv, !t->never_learns);
    ex_csv_double(csv, t->lr);
    ex_csv_double(csv, t->gamma);
    ex_csv_double(csv, t->tau);
    ex_csv_double(csv, t->clip);
    ex_csv_double(csv, t->epsilon_decay);
    ex_csv_double(csv, t->epsilon_floor);
    ex_csv_double(csv, t->epsilon_fixed);
    ex_csv_int(csv, t->batch);
    ex_csv_int(csv, t->replay);
    ex_csv_int(csv, t->n_step);
    ex_csv_int(csv, t->learn_every);
    ex_csv_int(csv, t->soft_every);
    ex_csv_int(csv, t->episodes);
    ex_csv_int(csv, t->portable);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)t->seed);
    ex_csv_string(csv, seed);
}

/* FNV-1a (Fowler, Noll and Vo). The version is part of it: another one may compute something else. */
static uint32_t settings_number(const ex_trial *t)
{
    static const char about[] = "study 1 " RLLB_VERSION_STRING " ";
    uint64_t hash = 0xCBF29CE484222325u;
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    size_t i;

    ex_text_add(&text, about, sizeof about - 1);
    settings_row(t, &csv);
    for (i = 0; i < text.size; i++) hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001B3u;
    ex_text_free(&text);
    return (uint32_t)(hash ^ hash >> 32);
}

/* ---- data of a run ----------------------------------------------------------------------------------------- */

/* Figures, then returns, lengths and dropped shares of all episodes. */
static size_t data_count(const ex_trial *t)
{
    return (size_t)EX_FIGURES + 3 * (size_t)t->episodes;
}

double ex_run_figure(const ex_run *r, int32_t figure)
{
    return r->data[figure];
}

const double *ex_run_returns(const ex_run *r)
{
    return r->data + EX_FIGURES;
}

const double *ex_run_lengths(const ex_run *r)
{
    return r->data + EX_FIGURES + r->trial.episodes;
}

const double *ex_run_dropped(const ex_run *r)
{
    return r->data + EX_FIGURES + 2 * (size_t)r->trial.episodes;
}

static const char run_header[] = "episode,return,length,dropped_share,greedy_return,greedy_length,greedy_survival,"
                                 "greedy_load_std,greedy_p99_load,greedy_value,greedy_gain";

/* The figures stand in the row of the last episode. */
static bool run_write(const ex_run *r, const char *path)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i, k;
    bool ok;

    ex_csv_header(&csv, run_header);
    for (i = 0; i < r->trial.episodes; i++) {
        ex_csv_int(&csv, i + 1);
        ex_csv_double(&csv, ex_run_returns(r)[i]);
        ex_csv_int(&csv, (int64_t)ex_run_lengths(r)[i]);
        ex_csv_double(&csv, ex_run_dropped(r)[i]);
        for (k = 0; k < EX_FIGURES; k++) {
            if (i == r->trial.episodes - 1) ex_csv_double(&csv, r->data[k]);
            else ex_csv_string(&csv, "");
        }
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, path);
    ex_text_free(&text);
    return ok;
}

/* One cell at *at, which moves behind the comma or line break. False: it is not a number. */
static bool read_cell(const char **at, char end, double *out)
{
    char *stop;

    *out = strtod(*at, &stop);
    if (stop == *at || *stop != end) return false;
    *at = stop + 1;
    return true;
}

static bool data_parse(const ex_trial *t, const char *at, double *data)
{
    size_t header = sizeof run_header - 1, n = (size_t)t->episodes, i;
    int32_t k;
    double number;

    if (strncmp(at, run_header, header) != 0 || at[header] != '\n') return false;
    at += header + 1;
    for (i = 0; i < n; i++) {
        if (!read_cell(&at, ',', &number) || number != (double)(i + 1)) return false;
        for (k = 0; k < 3; k++) {
            if (!read_cell(&at, ',', &data[EX_FIGURES + (size_t)k * n + i])) return false;
        }
        for (k = 0; k < EX_FIGURES; k++) {
            char end = k + 1 < EX_FIGURES ? ',' : '\n';
            if (i + 1 == n) {
                if (!read_cell(&at, end, &data[k])) return false;
            } else if (*at++ != end) {
                return false;
            }
        }
    }
    return *at == '\0';
}

/* The file at path into r->data. A file that is not there is no mistake; one that is not what it should be is worth a
   warning, and counts as not there. False: no memory. */
static bool run_read(ex_run *r, const char *path)
{
    size_t limit = 4096 + (size_t)r->trial.episodes * 160;
    ex_text text = { 0 };
    double *data;

    if (access(path, F_OK) != 0) return true;
    if (!ex_file_read(path, limit, &text)) return true;
    data = malloc(data_count(&r->trial) * sizeof *data);
    if (data && text.data && strlen(text.data) == text.size && data_parse(&r->trial, text.data, data)) {
        r->data = data;
    } else if (data) {
        ex_warn("%s: not a history of %d episodes; it is computed again", path, (int)r->trial.episodes);
        free(data);
    } else {
        ex_fail("no memory for the history of %d episodes", (int)r->trial.episodes);
    }
    ex_text_free(&text);
    return data != NULL;
}

/* ---- training ---------------------------------------------------------------------------------------------- */

typedef struct pupil {
    rllb_nn_dqn *agent;
    rllb_env_cluster *env;
    rllb_nn_net *copy; /* of the network, and */
    float *target;     /* the target network's parameters, for the extra soft updates */
    float *seen, *next;
    int32_t servers;
} pupil;

static void pupil_close(pupil *p)
{
    rllb_nn_dqn_destroy(p->agent);
    rllb_env_cluster_destroy(p->env);
    rllb_nn_net_destroy(p->copy);
    free(p->seen);
    free(p->next);
}

/* The way to write to the target network: the learner lists its arrays for saving, and a network of the same shape
   tells where in the block of parameters each of them lies. NULL if that does not fit. */
static float *target_data(rllb_nn_dqn *agent, rllb_nn_net *like)
{
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX], own[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive archive = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };
    rllb_nn_archive own_archive = { own, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    float *found = NULL;
    int32_t i, k;

    rllb_nn_dqn_entries(agent, &archive);
    rllb_nn_net_entries(like, "target.", &own_archive);
    for (i = 0; i < own_archive.count; i++) {
        float *data = NULL, *at = own[i].data;
        for (k = 0; k < archive.count; k++) {
            if (strcmp(entries[k].name, own[i].name) == 0) data = entries[k].data;
        }
        if (!data || own[i].dtype != RLLB_NN_F32) return NULL;
        data -= at - rllb_nn_net_data(like);
        if (found && data != found) return NULL;
        found = data;
    }
    return found;
}

static bool pupil_open(pupil *p, const ex_trial *t)
{
    rllb_env_cluster_desc e, full;
    rllb_nn_dqn_desc d;

    memset(p, 0, sizeof *p);
    rllb_env_cluster_desc_default(&e);
    e.mode = (rllb_env_mode)t->mode;
    e.traffic = (rllb_env_traffic)t->traffic;
    e.seed = t->seed;
    e.stream = EX_STREAM_TRAIN;
    p->env = rllb_env_cluster_create(&e);
    if (!p->env) return false;
    rllb_env_cluster_query(p->env, &full);
    p->servers = full.servers;
    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = d.net.outputs = full.servers;
    d.net.dueling = t->algo == EX_DUELING ? 64 : 0;
    d.net.portable = t->portable;
    d.opt.lr.from = t->lr;
    d.opt.clip_norm = t->clip > 0 ? (float)t->clip : -1;
    d.double_dqn = t->double_dqn;
    d.gamma = t->gamma > 0 ? (float)t->gamma : -1;
    d.tau = t->no_target ? 1 : (float)t->tau;
    d.batch = t->no_replay ? 1 : t->batch;
    d.replay.capacity = t->no_replay ? 1 : t->replay;
    d.replay.n_step = t->n_step;
    d.replay.prioritized = t->prioritized && !t->no_replay;
    if (t->epsilon_fixed > 0) {
        d.epsilon.from = t->epsilon_fixed;
    } else {
        d.epsilon.curve = RLLB_NN_EXPONENTIAL;
        d.epsilon.from = 1;
        d.epsilon.rate = t->epsilon_decay;
        d.epsilon.to = t->epsilon_floor;
    }
    d.seed = t->seed;
    p->agent = rllb_nn_dqn_create(&d);
    p->seen = calloc((size_t)full.servers, sizeof *p->seen);
    p->next = calloc((size_t)full.servers, sizeof *p->next);
    if (p->agent && t->soft_every > 0 && !t->no_target) {
        rllb_nn_net_desc shape;
        rllb_nn_net_query(rllb_nn_dqn_net(p->agent), &shape);
        p->copy = rllb_nn_net_create(&shape);
        p->target = p->copy ? target_data(p->agent, p->copy) : NULL;
        if (!p->target) return false;
    }
    return p->agent && p->seen && p->next;
}

static void soft_update(pupil *p, float tau)
{
    const float *from = rllb_nn_net_data(p->copy);
    size_t n = rllb_nn_net_floats(p->copy), i;

    rllb_nn_net_copy(p->copy, rllb_nn_dqn_net(p->agent));
    for (i = 0; i < n; i++) p->target[i] += tau * (from[i] - p->target[i]);
}

static void train_episode(pupil *p, const ex_trial *t, int64_t *steps, double *returns, double *length, double *dropped)
{
    uint8_t terminated = 0, truncated = 0;
    double arrived, total = 0, taken = 0;

    rllb_env_cluster_reset(p->env);
    ex_observe(p->env, 1, p->servers, p->servers, p->seen);
    while (!terminated && !truncated) {
        int32_t action = rllb_nn_dqn_act(p->agent, p->seen, NULL);
        float reward = 0;
        rllb_env_cluster_step(p->env, &action, &reward, &terminated, &truncated);
        ex_observe(p->env, 1, p->servers, p->servers, p->next);
        rllb_nn_dqn_observe(p->agent, p->seen, action, reward, p->next, NULL, terminated != 0, truncated != 0);
        memcpy(p->seen, p->next, (size_t)p->servers * sizeof *p->seen);
        ++*steps;
        if (!t->never_learns && *steps % t->learn_every == 0) rllb_nn_dqn_update(p->agent, NULL);
        if (p->target && !t->never_learns && *steps % t->soft_every == 0) soft_update(p, (float)t->tau);
        total += (double)reward;
        taken++;
    }
    arrived = rllb_env_cluster_arrived_total(p->env)[0];
    *returns = total;
    *length = taken;
    *dropped = arrived > 0 ? rllb_env_cluster_dropped_total(p->env)[0] / arrived : 0;
}

/* What the network expects of the states it comes through, and what it then gets. Episodes ten times as long as usual,
   looked at up to their usual end, so that the clock cuts off nothing that still counts. */
enum { VALUE_WORLDS = 32, VALUE_LOOKED_AT = 100, VALUE_HORIZON = 1000 };

static bool judge_values(const pupil *p, const ex_trial *t, double *value, double *gain)
{
    const rllb_nn_net *net = rllb_nn_dqn_net(p->agent);
    rllb_nn_work *work = rllb_nn_work_create(net, VALUE_WORLDS, false);
    float *q = calloc((size_t)VALUE_WORLDS * (size_t)p->servers, sizeof *q), rewards[VALUE_WORLDS];
    double *best = calloc((size_t)VALUE_HORIZON * VALUE_WORLDS, sizeof *best);
    double *got = calloc((size_t)VALUE_HORIZON * VALUE_WORLDS, sizeof *got), sums[2] = { 0, 0 }, seen = 0;
    int32_t actions[VALUE_WORLDS], length[VALUE_WORLDS], steps, e, i, ended = 0;
    uint8_t terminated[VALUE_WORLDS] = { 0 }, truncated[VALUE_WORLDS] = { 0 };
    rllb_env_cluster_desc d;
    rllb_env_cluster *env;
    bool ok;

    rllb_env_cluster_desc_default(&d);
    d.mode = (rllb_env_mode)t->mode;
    d.traffic = (rllb_env_traffic)t->traffic;
    d.environments = VALUE_WORLDS;
    d.horizon = VALUE_HORIZON;
    d.seed = t->seed;
    d.stream = EX_STREAM_JUDGE + ((uint64_t)1 << 20);
    env = rllb_env_cluster_create(&d);
    ok = work && q && best && got && env;
    for (steps = 0; ok && steps < VALUE_HORIZON && ended < VALUE_WORLDS; steps++) {
        rllb_nn_forward(net, work, rllb_env_cluster_observe(env), VALUE_WORLDS, q);
        for (e = 0; e < VALUE_WORLDS; e++) {
            actions[e] = 0;
            for (i = 1; i < p->servers; i++) {
                if (q[e * p->servers + i] > q[e * p->servers + actions[e]]) actions[e] = i;
            }
            best[steps * VALUE_WORLDS + e] = (double)q[e * p->servers + actions[e]];
            if (!terminated[e] && !truncated[e]) length[e] = steps + 1;
        }
        ended += rllb_env_cluster_step(env, actions, rewards, terminated, truncated);
        for (e = 0; e < VALUE_WORLDS; e++) got[steps * VALUE_WORLDS + e] = (double)rewards[e];
    }
    for (e = 0; ok && e < VALUE_WORLDS; e++) {
        double follow = 0;
        for (i = length[e] - 1; i >= 0; i--) {
            follow = got[i * VALUE_WORLDS + e] + t->gamma * follow;
            if (i >= VALUE_LOOKED_AT) continue;
            sums[0] += best[i * VALUE_WORLDS + e];
            sums[1] += follow;
            seen++;
        }
    }
    *value = seen > 0 ? sums[0] / seen : 0;
    *gain = seen > 0 ? sums[1] / seen : 0;
    rllb_nn_work_destroy(work);
    rllb_env_cluster_destroy(env);
    free(q);
    free(best);
    free(got);
    return ok;
}

static bool judge(const pupil *p, const ex_trial *t, double *data)
{
    rllb_env_cluster_desc d;
    ex_judged who;
    ex_score score;

    memset(&who, 0, sizeof who);
    rllb_env_cluster_desc_default(&d);
    d.mode = (rllb_env_mode)t->mode;
    d.traffic = (rllb_env_traffic)t->traffic;
    who.name = "trained";
    who.net = rllb_nn_dqn_net(p->agent);
    if (!ex_judge(&d, &who, EX_STUDY_JUDGED, t->seed, EX_STREAM_JUDGE, &score)) return false;
    data[EX_GREEDY_RETURN] = score.mean_return;
    data[EX_GREEDY_LENGTH] = score.mean_length;
    data[EX_GREEDY_SURVIVAL] = score.survival;
    data[EX_GREEDY_LOAD_STD] = score.load_std;
    data[EX_GREEDY_P99] = score.p99_load;
    ex_score_free(&score);
    return judge_values(p, t, &data[EX_GREEDY_VALUE], &data[EX_GREEDY_GAIN]);
}

/* What a run tells its parent while it lasts and when it is done; shared by both processes. */
typedef struct post {
    volatile int32_t episodes_done, complete;
    double data[1]; /* [data_count] */
} post;

/* The whole run. Ends early if the parent is gone: nobody would take the result. */
static bool run_train(const ex_trial *t, pid_t parent, post *to)
{
    size_t n = (size_t)t->episodes;
    double *returns = to->data + EX_FIGURES;
    int64_t steps = 0;
    int32_t i;
    pupil p;
    bool ok = pupil_open(&p, t);

    if (!ok) ex_fail("no memory for a learner with a replay of %d", (int)t->replay);
    for (i = 0; ok && i < t->episodes; i++) {
        train_episode(&p, t, &steps, returns + i, returns + n + (size_t)i, returns + 2 * n + (size_t)i);
        to->episodes_done = i + 1;
        if (getppid() != parent) ok = false;
    }
    ok = ok && judge(&p, t, to->data);
    pupil_close(&p);
    to->complete = ok;
    return ok;
}

/* ---- the study --------------------------------------------------------------------------------------------- */

int ex_study_open(ex_study *s, const ex_study_how *how, int32_t folder_count)
{
    const char *slash = how->shard ? strchr(how->shard, '/') : NULL;
    int64_t i = 1, n = 1;
    char first[24] = "";

    memset(s, 0, sizeof *s);
    s->how = how;
    s->lock.fd = -1;
    s->tail = 20;
    if (how->shard) {
        if (slash && slash - how->shard < (int)sizeof first) {
            snprintf(first, sizeof first, "%.*s", (int)(slash - how->shard), how->shard);
        }
        if (!slash || !ex_parse_int64(first, &i) || !ex_parse_int64(slash + 1, &n)) {
            return ex_usage("shard", "'%.60s' is not like 1/4", how->shard);
        }
        if (n < 1 || n > 1000000 || i < 1 || i > n) {
            return ex_usage("shard", "%.60s is out of range: the first number goes from 1 to the second", how->shard);
        }
    }
    if (how->merge && how->shard) return ex_usage("merge", "has no use with --shard");
    if (how->merge && folder_count == 0) return ex_usage("merge", "needs the folders to join: --merge DIR DIR...");
    if (!how->merge && folder_count > 0) return ex_usage("merge", "is missing: folders are named for that only");
    s->shard = (int32_t)i;
    s->shards = (int32_t)n;
    return EX_GO_ON;
}

bool ex_study_add(ex_study *s, const ex_trial *trial, int32_t group, const char *name)
{
    ex_run *run;

    if (s->count == s->room) {
        int32_t room = 2 * s->room + 64;
        run = realloc(s->runs, (size_t)room * sizeof *run);
        if (!run) {
            ex_fail("no memory for %d runs", (int)room);
            return false;
        }
        s->runs = run;
        s->room = room;
    }
    run = &s->runs[s->count++];
    memset(run, 0, sizeof *run);
    run->trial = *trial;
    run->trial.portable = s->how->portable;
    run->group = group;
    if (group >= s->groups) s->groups = group + 1;
    snprintf(run->name, sizeof run->name, "%.100s_seed%llu_%08lx", name, (unsigned long long)trial->seed,
             (unsigned long)settings_number(&run->trial));
    return true;
}

/* Where the runs of a group begin; they stand together, and the groups in order. */
static int32_t first_of(const ex_study *s, int32_t group)
{
    int32_t low = 0, high = s->count;

    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (s->runs[middle].group < group) low = middle + 1;
        else high = middle;
    }
    return low;
}

const ex_run *ex_study_find(const ex_study *s, int32_t group, int32_t i)
{
    int32_t at = first_of(s, group) + i;

    return i >= 0 && at < s->count && s->runs[at].group == group ? &s->runs[at] : NULL;
}

void ex_study_close(ex_study *s)
{
    int32_t i;

    for (i = 0; i < s->count; i++) free(s->runs[i].data);
    free(s->runs);
    ex_folder_unlock(&s->lock);
    memset(s, 0, sizeof *s);
    s->lock.fd = -1;
}

static ex_path run_path(const char *folder, const ex_run *r)
{
    char name[200];

    snprintf(name, sizeof name, "runs/%s.csv", r->name);
    return ex_path_join(folder, name);
}

static bool in_slice(const ex_study *s, int32_t i)
{
    return i % s->shards == s->shard - 1;
}

/* What a program that was killed in the middle of a file left there. The folder is ours alone. */
static void sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > 5 && strcmp(entry->d_name + length - 5, ".part") == 0) {
            unlink(ex_path_join(folder, entry->d_name).text);
        }
    }
    if (dir) closedir(dir);
}

/* ---- runs at a time ---------------------------------------------------------------------------------------- */

typedef struct batch {
    ex_study *study;
    int32_t next, todo, done, failed;
    int64_t episodes_todo, episodes_done; /* done: of runs that have ended */
    int32_t best_group; /* -1: none yet */
    bool best_full;
    double best;
    ex_pool pool;
    ex_progress bar;
} batch;

/* Is this group the best so far? By its mean score; one whose runs are all there goes before one that lacks some. */
static void best_update(batch *b, int32_t group)
{
    const ex_study *s = b->study;
    int32_t i, all = 0, there = 0;
    double sum = 0;
    bool full, better;

    for (i = first_of(s, group); i < s->count && s->runs[i].group == group; i++) {
        const ex_run *r = &s->runs[i];
        if (!in_slice(s, i)) continue;
        all++;
        if (!r->data) continue;
        there++;
        sum += ex_tail_mean(ex_run_returns(r), r->trial.episodes, s->tail);
    }
    if (there == 0) return;
    full = there == all;
    better = b->best_group < 0 || (full && !b->best_full) || (full == b->best_full && sum / there > b->best);
    if (!better && b->best_group != group) return;
    b->best = sum / there;
    b->best_full = full;
    b->best_group = group;
}

static int32_t batch_next(void *self)
{
    batch *b = self;
    ex_study *s = b->study;

    while (b->next < s->count && (!in_slice(s, b->next) || s->runs[b->next].data)) b->next++;
    return b->next < s->count ? b->next++ : -1;
}

/* The lock is on an open folder: a child that held it open would keep it locked after its parent's death. */
static int batch_run(void *self, int32_t run, void *mail, pid_t parent)
{
    ex_study *s = ((batch *)self)->study;

    ex_folder_unlock(&s->lock);
    return run_train(&s->runs[run].trial, parent, mail) ? 0 : 1;
}

/* Takes what a run that has ended left. False: it cannot be written, so that going on makes no sense. */
static bool batch_take(void *self, int32_t run, const void *mail, int status, int killer)
{
    batch *b = self;
    const post *from = mail;
    ex_run *r = &b->study->runs[run];
    size_t bytes = data_count(&r->trial) * sizeof *r->data;

    b->episodes_done += r->trial.episodes;
    if (status != 0 || !from->complete) {
        b->failed++;
        if (killer) ex_fail("the run %s was ended by signal %d", r->name, killer);
        else ex_fail("the run %s failed", r->name);
        return true;
    }
    r->data = malloc(bytes);
    if (!r->data) {
        ex_fail("no memory for the results of %d runs", (int)b->study->count);
        return false;
    }
    memcpy(r->data, from->data, bytes);
    b->done++;
    best_update(b, r->group);
    return run_write(r, run_path(b->study->how->out, r).text);
}

static void batch_show(void *self)
{
    batch *b = self;
    const ex_study *s = b->study;
    int64_t episodes = b->episodes_done;
    const void *mail;
    int32_t i;

    for (i = 0; i < b->pool.jobs; i++) {
        if (ex_pool_look(&b->pool, i, &mail) >= 0) episodes += ((const post *)mail)->episodes_done;
    }
    if (b->best_group < 0 || !s->group_name) {
        ex_progress_step(&b->bar, episodes, "%d of %d", (int)b->done, (int)b->todo);
    } else {
        ex_progress_step(&b->bar, episodes, "%d of %d, best so far %.2f: %s", (int)b->done, (int)b->todo, b->best,
                         s->group_name(b->best_group));
    }
}

static void batch_open(batch *b, ex_study *s)
{
    size_t most = 0;
    int32_t i;

    memset(b, 0, sizeof *b);
    b->study = s;
    b->best_group = -1;
    for (i = 0; i < s->groups && s->how->resume; i++) best_update(b, i);
    for (i = 0; i < s->count; i++) {
        if (!in_slice(s, i) || s->runs[i].data) continue;
        b->todo++;
        b->episodes_todo += s->runs[i].trial.episodes;
        if (data_count(&s->runs[i].trial) > most) most = data_count(&s->runs[i].trial);
    }
    b->pool.self = b;
    b->pool.jobs = s->how->jobs;
    b->pool.runs = b->todo;
    b->pool.mail_bytes = sizeof(post) + most * sizeof(double);
    b->pool.next = batch_next;
    b->pool.run = batch_run;
    b->pool.take = batch_take;
    b->pool.show = batch_show;
}

/* ---- merging ----------------------------------------------------------------------------------------------- */

static bool same_data(const ex_run *a, const ex_run *b)
{
    return memcmp(a->data, b->data, data_count(&a->trial) * sizeof *a->data) == 0;
}

/* From the folders into the study's own; runs that stand in several must be the same there. */
static int merge(ex_study *s, const char **folders, int32_t folder_count)
{
    int32_t i, f;

    for (i = 0; i < s->count; i++) {
        ex_run *r = &s->runs[i];
        int32_t from = -1;
        for (f = 0; f < folder_count; f++) {
            ex_run other = *r;
            bool same;
            other.data = NULL;
            if (!run_read(&other, run_path(folders[f], r).text)) return EX_FAILED;
            if (!other.data) continue;
            if (!r->data) {
                r->data = other.data;
                from = f;
                continue;
            }
            same = same_data(r, &other);
            free(other.data);
            if (same) continue;
            return ex_fail("%s differs in %s and %s: were they computed on different machines without --portable?",
                           r->name, folders[from < 0 ? 0 : from], folders[f]);
        }
        if (from >= 0 && !run_write(r, run_path(s->how->out, r).text)) return EX_FAILED;
    }
    return EX_OK;
}

static int check_complete(const ex_study *s)
{
    int32_t i, missing = 0, first = -1;

    for (i = 0; i < s->count; i++) {
        if (s->runs[i].data) continue;
        missing++;
        if (first < 0) first = i;
    }
    if (missing == 0) return EX_GO_ON;
    return ex_fail("%d of %d runs are in none of these folders, the first is %s; were they made with the same options? "
                   "(the same command with --resume instead of --merge DIR... computes what is missing)",
                   (int)missing, (int)s->count, s->runs[first].name);
}

/* ---- all of it --------------------------------------------------------------------------------------------- */

static int compute(ex_study *s)
{
    int32_t there = 0, mine = 0, i;
    int status = EX_GO_ON;
    batch b;

    for (i = 0; i < s->count; i++) {
        mine += in_slice(s, i);
        there += in_slice(s, i) && s->runs[i].data;
    }
    batch_open(&b, s);
    if (there > 0 && !s->how->quiet) {
        fprintf(stderr, "%s: %d of %d runs are there already\n", ex_program_name(), (int)there, (int)mine);
    }
    ex_catch_interrupts();
    ex_progress_start(&b.bar, "training", b.episodes_todo, s->how->quiet);
    if (!ex_pool_work(&b.pool)) status = EX_FAILED;
    if (status == EX_FAILED) {
        ex_progress_end(&b.bar, NULL);
    } else if (ex_interrupted()) {
        ex_progress_end(&b.bar, NULL);
        fprintf(stderr,
                "%s: stopped with %d of %d runs done; they are in %s; go on with the same command and --resume\n",
                ex_program_name(), (int)(there + b.done), (int)mine, ex_path_join(s->how->out, "runs").text);
        status = ex_interrupt_status();
    } else if (b.failed > 0) {
        ex_progress_end(&b.bar, NULL);
        status = ex_fail("%d of %d runs failed; the same command with --resume tries them again", (int)b.failed,
                         (int)mine);
    } else {
        ex_progress_end(&b.bar, "%d runs, %d at a time,", (int)b.done, (int)b.pool.jobs);
    }
    if (status == EX_GO_ON && s->shards > 1) {
        if (!s->how->quiet) {
            printf("slice %d of %d: %d runs in %s; join the slices with the same options and --merge DIR DIR...\n",
                   (int)s->shard, (int)s->shards, (int)mine, ex_path_join(s->how->out, "runs").text);
        }
        status = EX_OK;
    }
    return status;
}

int ex_study_run(ex_study *s, const char **folders, int32_t folder_count)
{
    ex_path runs = ex_path_join(s->how->out, "runs");
    int32_t i;
    int status;

    for (i = 0; i < folder_count; i++) {
        if (access(folders[i], R_OK | X_OK) != 0) return ex_fail("cannot read %s: %s", folders[i], strerror(errno));
    }
    if (!ex_folder_lock(s->how->out, &s->lock)) return EX_FAILED;
    if (!ex_folder_make(runs.text)) return EX_FAILED;
    sweep(runs.text);
    for (i = 0; i < s->count && s->how->resume; i++) {
        if (!run_read(&s->runs[i], run_path(s->how->out, &s->runs[i]).text)) return EX_FAILED;
    }
    if (!s->how->merge) return compute(s);
    status = merge(s, folders, folder_count);
    return status == EX_OK ? check_complete(s) : status;
}

bool ex_study_write_runs(const ex_study *s)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    char header[640];
    int32_t i, k;
    bool ok;

    snprintf(header, sizeof header, "name,%s,mean_return,last_%d_mean,last_100_mean,last_100_sd,mean_length,%s",
             settings_header, (int)s->tail, strstr(run_header, "greedy_return"));
    ex_csv_header(&csv, header);
    for (i = 0; i < s->count; i++) {
        const ex_run *r = &s->runs[i];
        int32_t n = r->trial.episodes;
        ex_csv_string(&csv, r->name);
        settings_row(&r->trial, &csv);
        ex_csv_double(&csv, ex_mean(ex_run_returns(r), n));
        ex_csv_double(&csv, ex_tail_mean(ex_run_returns(r), n, s->tail));
        ex_csv_double(&csv, ex_tail_mean(ex_run_returns(r), n, 100));
        ex_csv_double(&csv, ex_tail_sd(ex_run_returns(r), n, 100));
        ex_csv_double(&csv, ex_mean(ex_run_lengths(r), n));
        for (k = 0; k < EX_FIGURES; k++) ex_csv_double(&csv, r->data[k]);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(s->how->out, "runs.csv").text);
    ex_text_free(&text);
    return ok;
}

/* Options that decide where and how it is computed, but not what comes out. */
static bool is_setting(const ex_option *o)
{
    static const char *const others[] = { "jobs", "resume", "shard", "merge", "out", "quiet", NULL };
    int32_t i;

    if (o->kind == EX_KIND_HEADING) return false;
    for (i = 0; others[i]; i++) {
        if (strcmp(o->name, others[i]) == 0) return false;
    }
    return true;
}

void ex_study_json_begin(const ex_study *s, ex_json *j, const ex_program *program)
{
    int32_t i, k;

    ex_json_object(j, NULL);
    ex_json_string(j, "program", program->name);
    ex_json_string(j, "version", RLLB_VERSION_STRING);
    ex_json_int(j, "runs", s->count);
    ex_json_object(j, "settings");
    for (i = 0; i < program->option_count; i++) {
        const ex_option *o = &program->options[i];
        if (!is_setting(o)) continue;
        switch (o->kind) {
        case EX_KIND_FLAG: ex_json_bool(j, o->name, *o->to.flag); break;
        case EX_KIND_INT: ex_json_int(j, o->name, *o->to.i32); break;
        case EX_KIND_INT64: ex_json_int(j, o->name, *o->to.i64); break;
        case EX_KIND_SEED: ex_json_uint(j, o->name, *o->to.u64); break;
        case EX_KIND_FLOAT: ex_json_float(j, o->name, *o->to.f32); break;
        case EX_KIND_DOUBLE: ex_json_double(j, o->name, *o->to.f64); break;
        case EX_KIND_STRING: ex_json_string(j, o->name, *o->to.string); break;
        case EX_KIND_CHOICE: ex_json_string(j, o->name, o->names[*o->to.i32]); break;
        case EX_KIND_CHOICES:
            ex_json_row_array(j, o->name);
            for (k = 0; o->names[k]; k++) {
                if (*o->to.bits >> k & 1) ex_json_string(j, NULL, o->names[k]);
            }
            ex_json_end(j);
            break;
        case EX_KIND_LIST:
        case EX_KIND_INT_LIST:
            ex_json_row_array(j, o->name);
            for (k = 0; k < o->to.list->count; k++) ex_json_double(j, NULL, o->to.list->values[k]);
            ex_json_end(j);
            break;
        case EX_KIND_CALL: /* its program's business */
        case EX_KIND_HEADING: break;
        }
    }
    ex_json_end(j);
}

/* ---- figures ----------------------------------------------------------------------------------------------- */

enum { RESAMPLES = 10000 };

double ex_mean(const double *values, int32_t count)
{
    return ex_tail_mean(values, count, count);
}

double ex_tail_mean(const double *values, int32_t count, int32_t tail)
{
    int32_t first = tail < count ? count - tail : 0, i;
    double sum = 0;

    for (i = first; i < count; i++) sum += values[i];
    return count > first ? sum / (count - first) : (double)NAN;
}

double ex_tail_sd(const double *values, int32_t count, int32_t tail)
{
    int32_t first = tail < count ? count - tail : 0, i;
    rllb_stats s;

    memset(&s, 0, sizeof s);
    for (i = first; i < count; i++) rllb_stats_add(&s, values[i]);
    return rllb_stats_stddev(&s);
}

ex_estimate ex_estimate_t(const double *values, int32_t count)
{
    ex_estimate e;
    rllb_stats s;
    int32_t i;

    memset(&s, 0, sizeof s);
    for (i = 0; i < count; i++) rllb_stats_add(&s, values[i]);
    e.mean = s.mean;
    e.low = count > 1 ? s.mean - rllb_stats_ci95(&s) : (double)NAN;
    e.high = count > 1 ? s.mean + rllb_stats_ci95(&s) : (double)NAN;
    return e;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The middle 95 % of values that get sorted; those that are not finite have been left out. */
static void middle(double *values, int32_t count, ex_estimate *e)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    e->low = count > 0 ? values[(int32_t)(0.025 * (count - 1) + 0.5)] : (double)NAN;
    e->high = count > 0 ? values[(int32_t)(0.975 * (count - 1) + 0.5)] : (double)NAN;
}

ex_estimate ex_estimate_bootstrap(const double *values, int32_t count)
{
    static double means[RESAMPLES];
    ex_estimate e = { ex_mean(values, count), (double)NAN, (double)NAN };
    rllb_rng rng;
    int32_t i, k;

    if (count < 2) return e;
    rllb_rng_init(&rng, 20220101, 0);
    for (k = 0; k < RESAMPLES; k++) {
        means[k] = 0;
        for (i = 0; i < count; i++) means[k] += values[rllb_rng_below(&rng, count)];
        means[k] /= count;
    }
    middle(means, RESAMPLES, &e);
    return e;
}

static void ranks(const double *values, int32_t count, double *out)
{
    int32_t i, k;

    for (i = 0; i < count; i++) {
        out[i] = 0.5;
        for (k = 0; k < count; k++) out[i] += values[k] < values[i] ? 1.0 : values[k] == values[i] ? 0.5 : 0.0;
    }
}

/* Correlation of ranks, in scratch[2 * count]. */
static double spearman(const double *a, const double *b, int32_t count, double *scratch)
{
    double *ra = scratch, *rb = scratch + count, mean = (count + 1) / 2.0, ab = 0, aa = 0, bb = 0;
    int32_t i;

    ranks(a, count, ra);
    ranks(b, count, rb);
    for (i = 0; i < count; i++) {
        ab += (ra[i] - mean) * (rb[i] - mean);
        aa += (ra[i] - mean) * (ra[i] - mean);
        bb += (rb[i] - mean) * (rb[i] - mean);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
}

double ex_spearman(const double *a, const double *b, int32_t count)
{
    double *scratch = malloc(2 * (size_t)(count > 0 ? count : 1) * sizeof *scratch), r;

    if (!scratch) return (double)NAN;
    r = spearman(a, b, count, scratch);
    free(scratch);
    return r;
}

ex_estimate ex_spearman_bootstrap(const double *a, const double *b, int32_t count)
{
    ex_estimate e = { ex_spearman(a, b, count), (double)NAN, (double)NAN };
    double *scratch = count > 2 ? malloc((4 * (size_t)count + RESAMPLES) * sizeof *scratch) : NULL, *x, *y, *found;
    int32_t i, k, n = 0;
    rllb_rng rng;

    if (!scratch) return e;
    x = scratch + 2 * count;
    y = x + count;
    found = y + count;
    rllb_rng_init(&rng, 20220101, 1);
    for (k = 0; k < RESAMPLES / 5; k++) {
        for (i = 0; i < count; i++) {
            int32_t from = rllb_rng_below(&rng, count);
            x[i] = a[from];
            y[i] = b[from];
        }
        found[n] = spearman(x, y, count, scratch);
        n += !isnan(found[n]);
    }
    middle(found, n, &e);
    free(scratch);
    return e;
}

void ex_rolling_mean(const double *values, int32_t count, int32_t window, double *out)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        int32_t from = i + 1 > window ? i + 1 - window : 0;
        out[i] = ex_mean(values + from, i + 1 - from);
    }
}

const char *ex_estimate_text(ex_estimate e, int32_t decimals, char out[64])
{
    if (isnan(e.low)) snprintf(out, 64, "%.*f", (int)decimals, e.mean);
    else snprintf(out, 64, "%.*f \302\261 %.*f", (int)decimals, e.mean, (int)decimals, (e.high - e.low) / 2);
    return out;
}

const char *ex_interval_text(ex_estimate e, int32_t decimals, char out[64])
{
    if (isnan(e.low)) snprintf(out, 64, "[unknown]");
    else snprintf(out, 64, "[%.*f, %.*f]", (int)decimals, e.low, (int)decimals, e.high);
    return out;
}

void ex_json_estimate(ex_json *j, const char *key, ex_estimate e)
{
    ex_json_row(j, key);
    ex_json_double(j, "mean", e.mean);
    ex_json_double(j, "low", e.low);
    ex_json_double(j, "high", e.high);
    ex_json_end(j);
}

/* ---- a run, a group and two groups ------------------------------------------------------------------------- */

const char *const ex_measure_keys[] = { "last_100_mean",   "last_100_sd", "area_per_episode", "last_100_length",
                                        "greedy_return", "greedy_survival", "expected_less_got", NULL };

double ex_run_measure(const ex_run *r, ex_measure m)
{
    int32_t n = r->trial.episodes;

    switch (m) {
    case EX_M_LAST: return ex_tail_mean(ex_run_returns(r), n, EX_LAST);
    case EX_M_SD: return ex_tail_sd(ex_run_returns(r), n, EX_LAST);
    case EX_M_AREA: return ex_mean(ex_run_returns(r), n);
    case EX_M_LENGTH: return ex_tail_mean(ex_run_lengths(r), n, EX_LAST);
    case EX_M_GREEDY: return ex_run_figure(r, EX_GREEDY_RETURN);
    case EX_M_SURVIVAL: return ex_run_figure(r, EX_GREEDY_SURVIVAL);
    case EX_M_BIAS: return ex_run_figure(r, EX_GREEDY_VALUE) - ex_run_figure(r, EX_GREEDY_GAIN);
    case EX_MEASURES: break;
    }
    return (double)NAN;
}

enum { SEEDS_MOST = 1000 };

ex_estimate ex_group_measure(const ex_study *s, int32_t group, int32_t seeds, ex_measure m)
{
    double values[SEEDS_MOST];
    int32_t i;

    for (i = 0; i < seeds && i < SEEDS_MOST; i++) values[i] = ex_run_measure(ex_study_find(s, group, i), m);
    return ex_estimate_t(values, i);
}

ex_estimate ex_group_differ(const ex_study *s, int32_t a, int32_t b, int32_t seeds, ex_measure m)
{
    double values[SEEDS_MOST];
    int32_t i;

    for (i = 0; i < seeds && i < SEEDS_MOST; i++) {
        values[i] = ex_run_measure(ex_study_find(s, a, i), m) - ex_run_measure(ex_study_find(s, b, i), m);
    }
    return ex_estimate_bootstrap(values, i);
}

bool ex_group_curve(const ex_study *s, int32_t group, int32_t seeds, int32_t window, double *mean, double *low,
                    double *high)
{
    int32_t n = ex_study_find(s, group, 0)->trial.episodes, i, k;
    rllb_stats *stats = calloc((size_t)n, sizeof *stats);
    double *smooth = malloc((size_t)n * sizeof *smooth);
    bool ok = stats && smooth;

    if (!ok) ex_fail("no memory for a curve of %d episodes", (int)n);
    for (k = 0; ok && k < seeds; k++) {
        ex_rolling_mean(ex_run_returns(ex_study_find(s, group, k)), n, window, smooth);
        for (i = 0; i < n; i++) rllb_stats_add(&stats[i], smooth[i]);
    }
    for (i = 0; ok && i < n; i++) {
        mean[i] = stats[i].mean;
        low[i] = stats[i].mean - rllb_stats_stddev(&stats[i]);
        high[i] = stats[i].mean + rllb_stats_stddev(&stats[i]);
    }
    free(stats);
    free(smooth);
    return ok;
}

void ex_measure_heading(ex_table *t)
{
    ex_table_cell(t, "last 100");
    ex_table_cell(t, "their sd");
    ex_table_cell(t, "area");
    ex_table_cell(t, "length");
    ex_table_cell(t, "greedy");
    ex_table_cell(t, "survived");
    ex_table_cell(t, "expects - gets");
}

void ex_measure_cells(ex_table *t, const ex_study *s, int32_t group, int32_t seeds)
{
    char text[64];
    int32_t m;

    for (m = 0; m < EX_MEASURES; m++) {
        ex_estimate e = ex_group_measure(s, group, seeds, (ex_measure)m);
        if (m == EX_M_SURVIVAL) ex_table_cell(t, "%.0f %%", 100 * e.mean);
        else if (m == EX_M_LENGTH) ex_table_cell(t, "%.1f", e.mean);
        else ex_table_cell(t, "%s", ex_estimate_text(e, m == EX_M_GREEDY || m == EX_M_BIAS ? 1 : 2, text));
    }
}

void ex_measure_legend(void)
{
    printf("\nlast 100: mean return of the last %d episodes; area: mean return of all; greedy, survived: %d fresh\n"
           "episodes without exploration; expects - gets: value of a state by the network less the discounted return\n"
           "that follows. After \302\261 stands the 95 %% interval by Student's t, in [] that of a difference, paired\n"
           "by seed, by bootstrap.\n",
           EX_LAST, EX_STUDY_JUDGED);
}

void ex_json_measures(ex_json *j, const ex_study *s, int32_t group, int32_t seeds)
{
    int32_t m;

    ex_json_object(j, "measures");
    for (m = 0; m < EX_MEASURES; m++) {
        ex_json_estimate(j, ex_measure_keys[m], ex_group_measure(s, group, seeds, (ex_measure)m));
    }
    ex_json_end(j);
}

bool ex_write_curves(const ex_study *s, int32_t seeds, int32_t window, const char *const *names)
{
    size_t n = (size_t)s->runs[0].trial.episodes, g, i;
    double *curves = malloc(3 * n * (size_t)s->groups * sizeof *curves);
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    bool ok = curves != NULL;

    if (!ok) ex_fail("no memory for %d curves", (int)s->groups);
    for (g = 0; ok && g < (size_t)s->groups; g++) {
        double *at = curves + 3 * n * g;
        ok = ex_group_curve(s, (int32_t)g, seeds, window, at, at + n, at + 2 * n);
    }
    ex_csv_string(&csv, "episode");
    for (g = 0; ok && g < (size_t)s->groups; g++) {
        char column[160];
        snprintf(column, sizeof column, "%s mean", names[g]);
        ex_csv_string(&csv, column);
        snprintf(column, sizeof column, "%s sd", names[g]);
        ex_csv_string(&csv, column);
    }
    ex_csv_row(&csv);
    for (i = 0; ok && i < n; i++) {
        ex_csv_int(&csv, (int64_t)i + 1);
        for (g = 0; g < (size_t)s->groups; g++) {
            const double *at = curves + 3 * n * g + i;
            ex_csv_double(&csv, at[0]);
            ex_csv_double(&csv, at[2 * n] - at[0]);
        }
        ex_csv_row(&csv);
    }
    ok = ok && ex_text_write(&text, ex_path_join(s->how->out, "curves.csv").text);
    ex_text_free(&text);
    free(curves);
    return ok;
}
