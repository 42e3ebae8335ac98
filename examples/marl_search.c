/* marl_search.c - finds one balancing model for many sites, by the durations of flows alone

   Shows policy search (rllb_nn_search, evolution strategies) on the flow-level world: a generation of candidates runs
   in the same worlds, drawn anew each time; what is judged is what is meant, the durations of the flows of all
   balancers over minutes, and no reward has to stand for it.

   Build:   make build/marl_search
   Run:     build/marl_search                               random worlds, balancers that care for each other's flows
            build/marl_search --aim own --worlds-of fleet   each for its own: where selfish balancers end
   Prints:  how the model fares beside SED that is told the true capacities, in the worlds of the last generations
   Writes:  model.safetensors (for simulate and marl_eval), curve.csv, curve.png and checkpoint.safetensors (to go on
            from, with --resume)

   A search is its settings and its seed: neither how many processes share the work nor an interruption changes a byte
   of any file. */

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "marl.h"
#include "pool.h"
#include "sites.h"
#include "worlds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* ---- settings ------------------------------------------------------------------------------------------------ */

enum { AIM_ALL, AIM_OWN };
enum { JUDGE_MEAN, JUDGE_MEAN_LOG, JUDGE_TAIL, JUDGE_JAIN, JUDGE_PRODUCT, JUDGE_VARIANCE };

static const char *const aim_names[] = { "all", "own", NULL };
static const char *const judge_names[] = { "mean", "mean-log", "tail", "jain", "product", "var-log", NULL };
static const char *const world_names[] = { "random",   "seed4-a", "seed4-b", "moderate",
                                           "large",    "degraded", "fleet",  NULL };

enum { RANDOM_WORLDS = 0, BALANCERS_MOST = 1024, SAVE_EVERY = 10, SMOOTH = 20 };

static int32_t generations = 300, pairs = 16, worlds = 8, hidden = 24, worlds_of = RANDOM_WORLDS;
static int32_t balancers, servers;
static int32_t aim = AIM_ALL, judge = JUDGE_TAIL, jobs;
static double spread = 0, sigma = 0.08, rate_of_learning = 0.02, flows = 12000, ticks = 15000;
static uint64_t seed = 1;
static const char *from, *only, *out = "out/marl_search";
static bool resume, quiet;

static ex_option options[] = {
    EX_HEADING("What is searched for"),
    EX_CHOICE("aim", &aim, aim_names, "all: every balancer is the candidate, judged by the flows of all; own: one is, "
                                      "among balancers that are the present mean, judged by its own flows"),
    EX_CHOICE("judge", &judge, judge_names, "a world's durations: the logarithm of their mean; the mean of their "
                                            "logarithms; mean, P90, P99 and the mean of the first part, logarithms; or "
                                            "how fair the servers' mean durations are"),
    EX_INT("hidden", &hidden, 1, 256, "N", "width of both hidden layers"),
    EX_STRING("from", &from, "MODEL", "start at this model, of the same shape"),
    EX_STRING("only", &only, "LAYERS", "only parameters of layers whose name begins so: common are those that set d, a "
                                       "and gamma"),
    EX_DOUBLE("spread", &spread, 0, 3, "X", "how far apart balancers draw their weights, of the model that is searched "
                                            "for (rllb.h, spread)"),
    EX_HEADING("Worlds"),
    EX_CHOICE("worlds-of", &worlds_of, world_names, "where candidates are tried: drawn at random, or a preset, told "
                                                    "no capacities, at 0.9 to 1.1 times its rate"),
    EX_INT("balancers", &balancers, 0, BALANCERS_MOST, "N", "of a preset's world, 0: as many as it has; of random ones "
                                                            "at most, 0: 32"),
    EX_INT("servers", &servers, 0, EX_WORLD_SERVERS, "N", "of a preset's world, its own over and over, at its load; 0: "
                                                          "as many as it has"),
    EX_INT("worlds", &worlds, 1, 256, "N", "a generation, the same for all candidates"),
    EX_DOUBLE("flows", &flows, 100, 3e5, "X", "of a world; each is 1 to 4 times that long"),
    EX_DOUBLE("ticks", &ticks, 100, 1e8, "X", "decisions of a world, of all balancers for all servers, at most; 1 to "
                                              "4 times that"),
    EX_HEADING("Search"),
    EX_INT("generations", &generations, 0, 1000000, "N", "how long; 0: the model that it starts at is written with the "
                                                         "--spread given"),
    EX_INT("pairs", &pairs, 1, 4096, "N", "mirrored pairs of candidates a generation"),
    EX_DOUBLE("sigma", &sigma, 1e-6, 10, "X", "how far candidates are from the mean"),
    EX_DOUBLE("lr", &rate_of_learning, 1e-6, 10, "X", "Adam's step; falls to a tenth along a cosine"),
    EX_SEED("seed", &seed, "of the noise, the worlds and the first model"),
    EX_HEADING("How it is run"),
    EX_INT("jobs", &jobs, 0, 4096, "N", "processes at a time; 0: one for every processor"),
    EX_FLAG("resume", &resume, "go on with the search that --out holds"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress, no summary"),
};

static const char details[] =
    "Writes model.safetensors, curve.csv, curve.png, and checkpoint.safetensors (for --resume): every 10 generations,\n"
    "at the end, and on Ctrl-C, when the generation that goes on is given up.\n";

static ex_program program = { .name = "marl_search", .summary = "finds a balancing model for many sites",
                              .details = details, .options = options, .option_count = EX_COUNT(options) };

/* All that a search depends on, for its checkpoint. */
static const char *setup_text(char text[400])
{
    snprintf(text, 400, "aim=%s judge=%s only=%s hidden=%d spread=%.17g worlds-of=%s balancers=%d servers=%d worlds=%d "
             "flows=%.17g ticks=%.17g generations=%d pairs=%d sigma=%.17g lr=%.17g seed=%llu", aim_names[aim],
             judge_names[judge], only ? only : "all", (int)hidden, spread, world_names[worlds_of], (int)balancers,
             (int)servers, (int)worlds, flows, ticks, (int)generations, (int)pairs, sigma, rate_of_learning,
             (unsigned long long)seed);
    return text;
}

/* ---- worlds ---------------------------------------------------------------------------------------------------- */

enum { WORLD_FLOWS_MOST = 16384 }; /* at once: a world's memory is cleared before it runs, so it is kept small */

#define WORLD_STREAM ((uint64_t)1 << 32) /* of the seed's streams; those below it are the noise's */

/* A preset, its capacities not told. */
static void preset_world(const ex_world_limits *l, rllb_rng *rng, ex_world_drawn *w)
{
    rllb_env_flows_desc *d = &w->desc;
    double ticks_a_second, load;
    int32_t i, n = servers;

    memset(w, 0, sizeof *w);
    rllb_env_flows_preset((rllb_env_preset)(worlds_of - 1), d);
    load = d->rate / rllb_env_flows_capacity(d);
    if (servers == 0) n = d->count;
    for (i = 0; i < n; i++) {
        w->servers[i] = d->servers[i % d->count];
        w->servers[i].weight = 1;
    }
    d->count = n;
    d->servers = w->servers;
    if (servers > 0) d->rate = load * rllb_env_flows_capacity(d);
    if (balancers > 0) d->balancers = balancers;
    if (!(d->step_s > 0)) d->step_s = 0.25;
    d->rate *= 0.9 + 0.2 * rllb_rng_double(rng);
    d->seed = rllb_rng_u64(rng);
    ticks_a_second = (double)d->count * d->balancers / d->step_s;
    w->duration_s = fmin(fmin(l->flows_max / d->rate, l->ticks_max / ticks_a_second), l->longest_s);
    d->horizon_s = w->duration_s;
    ex_world_bind(w);
}

/* The same numbers give the same world. Its arrivals are of the stream that all training has for itself. */
static void make_world(int64_t generation, int32_t which, ex_world_drawn *w)
{
    ex_world_limits l = ex_world_limits_default;
    double longer;
    rllb_rng rng;

    rllb_rng_init(&rng, seed, WORLD_STREAM + (uint64_t)generation * (uint64_t)worlds + (uint64_t)which);
    longer = pow(4, rllb_rng_double(&rng));
    l.flows_max = flows * longer;
    l.ticks_max = ticks * longer;
    if (balancers > 0) l.balancers[1] = balancers;
    if (worlds_of == RANDOM_WORLDS) ex_world_draw(&l, rllb_rng_u64(&rng), w);
    else preset_world(&l, &rng, w);
    w->desc.flows_max = WORLD_FLOWS_MOST;
    w->desc.stream = EX_MARL_STREAM;
}

/* ---- judging --------------------------------------------------------------------------------------------------- */

/* What is heard of the flows of a world. Its first part, in which balancers find out about the servers, apart from the
   rest. */
typedef struct tally {
    double apart_s, sum[2], logs; /* flows that arrive before apart_s: [0] */
    int64_t count[2], lost;
    double by_server[EX_WORLD_SERVERS], flows_of[EX_WORLD_SERVERS]; /* of [1] */
    float *late; /* durations of [1] */
    size_t room;
    bool no_memory;
} tally;

#define FIRST_PART 0.4

static bool make_room(tally *t)
{
    size_t room = t->room ? 2 * t->room : (size_t)(4 * flows);
    float *late;

    if ((size_t)t->count[1] < t->room) return true;
    late = realloc(t->late, room * sizeof *late);
    if (!late) return false;
    t->late = late;
    t->room = room;
    return true;
}

/* A flow that was lost counts as a long one. */
static void hear(void *user, const rllb_env_flow *f)
{
    tally *t = user;
    double duration_s = f->ended_s - f->arrived_s;
    int part = f->arrived_s >= t->apart_s;

    if (aim == AIM_OWN && f->balancer != 0) return;
    if (f->fate != RLLB_ENV_COMPLETED) {
        duration_s = 3 * fmax(1, duration_s);
        t->lost++;
    }
    if (part == 1) {
        if (!make_room(t)) {
            t->no_memory = true;
            return;
        }
        t->late[t->count[1]] = (float)duration_s;
    }
    if (part == 1 && f->server >= 0 && f->server < EX_WORLD_SERVERS) {
        t->by_server[f->server] += duration_s;
        t->flows_of[f->server] += 1;
    }
    t->sum[part] += duration_s;
    t->logs += log(fmax(1e-9, duration_s));
    t->count[part]++;
}

/* The k-th least of x[low ... high), in its place, and nothing greater before it (Hoare's selection). */
static float select_least(float *x, int64_t low, int64_t high, int64_t k)
{
    int64_t last = high - 1;

    while (low < last) {
        float pivot = x[low + (last - low) / 2];
        int64_t i = low, j = last;
        while (i <= j) {
            float kept;
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i > j) break;
            kept = x[i];
            x[i++] = x[j];
            x[j--] = kept;
        }
        if (k <= j) last = j;
        else if (k >= i) low = i;
        else break;
    }
    return x[k];
}

/* The fairness of the mean durations of the servers that had flows: what the papers reward. */
static double fairness(const tally *t)
{
    static const rllb_fairness_kind kinds[] = { RLLB_FAIRNESS_JAIN, RLLB_FAIRNESS_PRODUCT, RLLB_FAIRNESS_LOG_VARIANCE };
    float means[EX_WORLD_SERVERS];
    int32_t i, n = 0;

    for (i = 0; i < EX_WORLD_SERVERS; i++) {
        if (t->flows_of[i] > 0) means[n++] = (float)(t->by_server[i] / t->flows_of[i]);
    }
    return n ? rllb_fairness(kinds[judge - JUDGE_JAIN], means, n) : (double)NAN;
}

/* More is better, and a difference is a relative one. NaN: nothing was heard. */
static double verdict(tally *t)
{
    double n0 = (double)t->count[0], n1 = (double)t->count[1], early, late, p90, p99;
    int64_t at90 = t->count[1] * 9 / 10, at99 = t->count[1] * 99 / 100;

    if (t->count[1] == 0) return (double)NAN;
    if (judge >= JUDGE_JAIN) return fairness(t);
    if (judge == JUDGE_MEAN) return -log((t->sum[0] + t->sum[1]) / (n0 + n1));
    if (judge == JUDGE_MEAN_LOG) return -t->logs / (n0 + n1);
    late = t->sum[1] / n1;
    early = t->count[0] ? t->sum[0] / n0 : late;
    p90 = (double)select_least(t->late, 0, t->count[1], at90);
    p99 = (double)select_least(t->late, at90, t->count[1], at99);
    return -(0.25 * log(early) + log(late) + 0.25 * log(p90) + 0.25 * log(p99)) - 1e-4 * (double)t->lost;
}

/* ---- the search ------------------------------------------------------------------------------------------------ */

/* A generation of the curve. Differences to the judgement of SED that is told the true capacities, in the same worlds:
   0 is as good, more is better; a tail judgement adds up four logarithms. */
typedef struct row {
    double generation;       /* from 1 */
    double mean;             /* the model itself, before the generation moved it */
    double candidates, best; /* the mean of the candidates; the best of them */
    double lost, gradient;   /* candidates without a judgement; norm of the gradient */
} row;

enum { COLUMNS = sizeof(row) / sizeof(double) };

static const char *const column_names[COLUMNS] = { "generation", "mean", "candidates", "best", "lost", "gradient" };

/* What the processes of a generation share. */
typedef struct board {
    int32_t next; /* task: the first that nobody has taken */
    double score[]; /* [tasks] */
} board;

typedef struct hunt {
    rllb_nn_search *search;
    rllb_nn_policy *candidate, *mean; /* memoryless: one policy serves all balancers that have it */
    ex_model_info info;
    row *rows; /* [generations] */
    int32_t contestants, tasks; /* candidates, the mean, SED; times worlds */
    board *board;
    size_t board_bytes;
    int32_t workers; /* started in this generation */
    int64_t before;  /* generations that had been done when the program began */
    ex_pool pool;
    ex_progress bar;
    ex_lock *lock;
} hunt;

static int64_t done_by(const hunt *h)
{
    return rllb_nn_search_generations(h->search);
}

static void balance_by_sed(ex_world_drawn *w)
{
    int32_t i;

    w->desc.balancer.policy = RLLB_BALANCE_SED;
    for (i = 0; i < w->desc.count; i++) {
        float speed = w->servers[i].speed > 0 ? w->servers[i].speed : 1;
        w->servers[i].weight = (float)w->servers[i].cpus * speed;
    }
}

/* controls: room for those of BALANCERS_MOST. */
static void balance_by_policy(const hunt *h, rllb_nn_policy *p, void **controls, rllb_env_flows_desc *d)
{
    int32_t i;

    ex_model_info_apply(&h->info, &d->balancer);
    d->balancer.policy = RLLB_BALANCE_LEARNED;
    d->balancer.control = rllb_nn_policy_control;
    d->balancer.control_self = p;
    if (aim == AIM_ALL) return;
    for (i = 0; i < d->balancers; i++) controls[i] = i == 0 ? p : h->mean;
    d->controls = controls;
}

/* One contestant in one world. Answers false, said, if that cannot be. */
static bool run_task(hunt *h, int32_t task, tally *t)
{
    static void *controls[BALANCERS_MOST];
    int32_t which = task % h->contestants;
    rllb_nn_policy *p = which < 2 * pairs ? h->candidate : h->mean;
    ex_world_drawn w;
    rllb_env_flows *world;

    make_world(done_by(h), task / h->contestants, &w);
    if (which < 2 * pairs) rllb_nn_search_candidate(h->search, which, rllb_nn_policy_net(p));
    if (which == h->contestants - 1) balance_by_sed(&w);
    else balance_by_policy(h, p, controls, &w.desc);
    world = rllb_env_flows_create(&w.desc);
    if (!world) return ex_fail("no memory for a world of %d servers", (int)w.desc.count) == EX_OK;
    t->apart_s = FIRST_PART * w.duration_s;
    memset(t->by_server, 0, sizeof t->by_server);
    memset(t->flows_of, 0, sizeof t->flows_of);
    t->sum[0] = t->sum[1] = t->logs = 0;
    t->count[0] = t->count[1] = t->lost = 0;
    rllb_env_flows_listen(world, hear, t);
    rllb_env_flows_run(world, w.duration_s);
    rllb_env_flows_destroy(world);
    h->board->score[task] = verdict(t);
    return !t->no_memory || ex_fail("no memory for the durations of a world") == EX_OK;
}

/* ---- a generation in processes --------------------------------------------------------------------------------- */

static int32_t next_worker(void *self)
{
    hunt *h = self;

    return h->workers < h->pool.jobs ? h->workers++ : -1;
}

/* Takes the next task until there is none: worlds differ in length, and shares that are fixed before would end at
   different times. The lock is on an open folder: a child that held it open would keep it after its parent's death. */
static int work(void *self, int32_t worker, void *mail, pid_t parent)
{
    hunt *h = self;
    tally t;
    int32_t task;
    bool ok = true;

    (void)worker;
    (void)mail;
    ex_folder_unlock(h->lock);
    memset(&t, 0, sizeof t);
    while (ok && (task = __sync_fetch_and_add(&h->board->next, 1)) < h->tasks) {
        ok = getppid() == parent && run_task(h, task, &t);
    }
    free(t.late);
    return ok ? EX_OK : EX_FAILED;
}

static bool take_worker(void *self, int32_t worker, const void *mail, int status, int killer)
{
    (void)self;
    (void)worker;
    (void)mail;
    if (ex_interrupted()) return true; /* the generation is given up anyway */
    if (killer) ex_fail("a process that tried candidates was ended by signal %d", killer);
    return status == EX_OK && !killer;
}

static void show(void *self)
{
    hunt *h = self;
    int64_t done = done_by(h), share = h->board->next < h->tasks ? h->board->next : h->tasks;
    double mean = 0;
    int32_t i, n = 0;

    for (i = (int32_t)done - 1; i >= 0 && n < SMOOTH; i--, n++) mean += h->rows[i].mean;
    done = (done - h->before) * h->tasks + share;
    if (n) ex_progress_step(&h->bar, done, "%+.3f of told SED", mean / n);
    else ex_progress_step(&h->bar, done, NULL);
}

static double mean_score(const hunt *h, int32_t which)
{
    double sum = 0;
    int32_t k;

    for (k = 0; k < worlds; k++) sum += h->board->score[k * h->contestants + which];
    return sum / worlds;
}

/* False: said; or interrupted, and the generation is to be done again. */
static bool generation_run(hunt *h)
{
    h->board->next = 0;
    h->workers = 0;
    h->pool.self = h;
    h->pool.jobs = jobs;
    h->pool.runs = h->tasks;
    h->pool.mail_bytes = 1; /* they write on the board */
    h->pool.next = next_worker;
    h->pool.run = work;
    h->pool.take = take_worker;
    h->pool.show = show;
    rllb_nn_net_copy(rllb_nn_policy_net(h->mean), rllb_nn_search_net(h->search));
    return ex_pool_work(&h->pool) && !ex_interrupted();
}

static int generation_end(hunt *h)
{
    row *r = &h->rows[done_by(h)];
    double *returns = malloc((size_t)h->contestants * sizeof *returns), told;
    rllb_nn_search_report report;
    rllb_status status;
    int32_t i;

    if (!returns) return ex_fail("no memory for %d returns", (int)h->contestants);
    for (i = 0; i < h->contestants; i++) returns[i] = mean_score(h, i);
    told = returns[h->contestants - 1];
    r->generation = (double)done_by(h) + 1;
    r->mean = returns[h->contestants - 2] - told;
    status = rllb_nn_search_update(h->search, returns, &report);
    free(returns);
    if (status != RLLB_OK) return ex_fail("generation %.0f: %s", r->generation, rllb_status_words(status));
    r->candidates = report.mean - told;
    r->best = report.best - told;
    r->lost = report.lost;
    r->gradient = (double)report.gradient_norm;
    return EX_OK;
}

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

enum { ENTRIES = RLLB_NN_LEARNER_ENTRIES_MAX };

static const char *kernels_of(const hunt *h)
{
    return rllb_nn_kernels_name(rllb_nn_net_kernels(rllb_nn_search_net(h->search)));
}

/* One list serves both ways. */
static void checkpoint_list(hunt *h, int64_t rows, rllb_nn_archive *a)
{
    rllb_nn_search_entries(h->search, a);
    if (rows > 0) rllb_nn_archive_add(a, "curve", RLLB_NN_F64, rows, COLUMNS, h->rows);
}

static bool checkpoint_write(hunt *h)
{
    static rllb_nn_entry entries[ENTRIES];
    rllb_nn_archive a = { entries, 0, ENTRIES, 0 };
    ex_path path = ex_path_join(out, "checkpoint.safetensors");
    rllb_nn_meta meta[2];
    char text[400];
    void *bytes;
    size_t size;
    bool ok;

    checkpoint_list(h, done_by(h), &a);
    meta[0].key = "search";
    meta[0].value = setup_text(text);
    meta[1].key = "isa";
    meta[1].value = kernels_of(h);
    size = rllb_nn_archive_size(&a, meta, 2);
    bytes = size ? malloc(size) : NULL;
    if (bytes && rllb_nn_archive_save(&a, meta, 2, bytes, size) == RLLB_OK) ok = ex_file_write(path.text, bytes, size);
    else ok = ex_fail("cannot write %s: no memory", path.text) == EX_OK;
    free(bytes);
    return ok;
}

/* Numbers out of a damaged file must not lead anywhere. */
static bool loaded_ok(hunt *h, int64_t rows)
{
    const float *x = rllb_nn_net_data(rllb_nn_search_net(h->search));
    size_t k, floats = rllb_nn_net_floats(rllb_nn_search_net(h->search));
    int64_t i;

    for (i = 0; i < rows; i++) {
        if (!(h->rows[i].generation == (double)(i + 1))) return false;
    }
    for (k = 0; k < floats; k++) {
        if (!isfinite(x[k])) return false;
    }
    return done_by(h) == rows;
}

static int checkpoint_load(hunt *h, const char *path, const ex_text *file)
{
    static rllb_nn_entry entries[ENTRIES];
    rllb_nn_archive a = { entries, 0, ENTRIES, 0 };
    char was[400], is[400], words[200];
    ex_detail detail = { "" };
    rllb_logger logger = { ex_detail_log, NULL };
    int64_t rows = 0, columns = 0;
    rllb_nn_dtype type;
    rllb_status status;
    size_t at;

    logger.user = &detail;
    status = rllb_nn_file_check(file->data, file->size, &logger);
    if (status != RLLB_OK) return ex_fail("%s: not a checkpoint: %s", path, rllb_status_words(status));
    if (rllb_nn_file_meta(file->data, file->size, "search", was, sizeof was) != RLLB_OK) {
        return ex_fail("%s: not a checkpoint of a policy search", path);
    }
    if (strcmp(was, setup_text(is)) != 0) {
        ex_setup_differ(was, is, words);
        return ex_usage("resume", "%s began with %s; a search goes on with the settings it began with", path, words);
    }
    if (rllb_nn_file_query(file->data, file->size, "curve", &type, &rows, &columns, &at) != RLLB_OK) rows = 0;
    if (rows < 0 || rows > generations) return ex_fail("%s: not a checkpoint of this search: curve", path);
    checkpoint_list(h, rows, &a);
    status = rllb_nn_archive_load(&a, file->data, file->size, &logger);
    if (status != RLLB_OK) {
        return ex_fail("%s: not a checkpoint of this search: %s: %s", path, detail.text, rllb_status_words(status));
    }
    if (!loaded_ok(h, rows)) return ex_fail("%s: not a checkpoint of this search: damaged numbers", path);
    if (rllb_nn_file_meta(file->data, file->size, "isa", was, sizeof was) == RLLB_OK && rows < generations &&
        strcmp(was, kernels_of(h)) != 0) {
        ex_warn("%s was computed with %s and goes on with %s: not bit for bit", path, was, kernels_of(h));
    }
    return EX_OK;
}

/* EX_GO_ON: there is none. */
static int checkpoint_read(hunt *h)
{
    ex_path path = ex_path_join(out, "checkpoint.safetensors");
    ex_text file = { 0 };
    int status;

    if (access(path.text, F_OK) != 0) return EX_GO_ON;
    if (!ex_file_read(path.text, (size_t)1 << 32, &file)) return EX_FAILED;
    status = checkpoint_load(h, path.text, &file);
    ex_text_free(&file);
    return status;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static void csv_figure(ex_csv *csv, double value)
{
    if (isnan(value)) ex_csv_string(csv, "");
    else ex_csv_double(csv, value);
}

static bool curve_write(const hunt *h)
{
    double numbers[COLUMNS];
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int64_t i, n = done_by(h);
    int32_t c;
    bool ok;

    for (c = 0; c < COLUMNS; c++) ex_csv_string(&csv, column_names[c]);
    ex_csv_row(&csv);
    for (i = 0; i < n; i++) {
        memcpy(numbers, &h->rows[i], sizeof numbers);
        for (c = 0; c < COLUMNS; c++) csv_figure(&csv, numbers[c]);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(out, "curve.csv").text);
    ex_text_free(&text);
    return ok;
}

static bool curve_draw(const hunt *h)
{
    int32_t n = (int32_t)done_by(h), i;
    double *x = malloc(3 * (size_t)n * sizeof *x), *raw = x + n, *smooth = raw + n;
    ex_series series[2];
    ex_reference told;
    ex_line_chart chart;
    bool ok;

    if (!x) return ex_fail("no memory for the picture") == EX_OK;
    for (i = 0; i < n; i++) {
        x[i] = i + 1;
        raw[i] = h->rows[i].mean;
    }
    ex_rolling_mean(raw, n, n < SMOOTH ? n : SMOOTH, smooth);
    memset(series, 0, sizeof series);
    memset(&told, 0, sizeof told);
    memset(&chart, 0, sizeof chart);
    series[0].name = "the model in the worlds of a generation";
    series[0].color = ex_alpha(ex_palette(0), 0.35);
    series[1].name = "mean of the last 20 generations";
    series[1].color = ex_palette(0);
    series[1].width = 3;
    for (i = 0; i < 2; i++) {
        series[i].x = x;
        series[i].y = i ? smooth : raw;
        series[i].count = n;
    }
    told.label = "SED, told the capacities";
    chart.title = "Policy search for a balancing model that is told nothing";
    chart.note = "Every generation has worlds of its own. Above the dashed line: better than SED that is told the true "
                 "capacities, in the same worlds.";
    chart.x.label = "generation";
    chart.x.whole = true;
    chart.y.label = "judgement, difference of logarithms";
    chart.series = series;
    chart.series_count = 2;
    chart.references = &told;
    chart.reference_count = 1;
    ok = ex_line_chart_write(&chart, 0, 0, ex_path_join(out, "curve.png").text);
    free(x);
    return ok;
}

/* The checkpoint comes last: what it stands for is there by then. */
static bool save(hunt *h)
{
    rllb_nn_net_copy(rllb_nn_policy_net(h->mean), rllb_nn_search_net(h->search));
    h->info.episodes = done_by(h);
    return ex_model_save(ex_path_join(out, "model.safetensors").text, h->mean, &h->info) && curve_write(h) &&
           checkpoint_write(h);
}

/* ---- main ------------------------------------------------------------------------------------------------------ */

static bool board_open(hunt *h)
{
    h->contestants = 2 * pairs + 2;
    h->tasks = h->contestants * worlds;
    h->board_bytes = sizeof *h->board + (size_t)h->tasks * sizeof(double);
    h->board = mmap(NULL, h->board_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (h->board == MAP_FAILED) h->board = NULL;
    return h->board != NULL;
}

static int hunt_open(hunt *h)
{
    rllb_nn_policy_desc p;
    rllb_nn_search_desc d;
    int status = EX_GO_ON;

    ex_site_model(hidden, seed, &p, &h->info);
    snprintf(h->info.algorithm, sizeof h->info.algorithm, "policy search, %s flows", aim_names[aim]);
    snprintf(h->info.preset, sizeof h->info.preset, "%s", world_names[worlds_of]);
    rllb_nn_search_desc_default(&d);
    h->candidate = rllb_nn_policy_create(&p);
    h->mean = rllb_nn_policy_create(&p);
    h->info.spread = (float)spread;
    h->rows = calloc((size_t)generations + 1, sizeof *h->rows);
    if (!h->candidate || !h->mean || !h->rows || !board_open(h)) return ex_fail("no memory for the search");
    rllb_nn_net_query(rllb_nn_policy_net(h->mean), &d.net);
    d.only = only;
    d.pairs = pairs;
    d.sigma = (float)sigma;
    d.opt.lr.curve = RLLB_NN_COSINE;
    d.opt.lr.from = rate_of_learning;
    d.opt.lr.to = 0.1 * rate_of_learning;
    d.opt.lr.steps = generations > 0 ? generations : 1;
    d.opt.beta2 = 0.99f;
    d.seed = seed;
    h->search = rllb_nn_search_create(&d);
    if (!h->search) return ex_fail("no memory for the search");
    ex_site_begin(rllb_nn_search_net(h->search));
    if (resume) status = checkpoint_read(h);
    if (status == EX_GO_ON) status = from ? ex_site_load(from, &p, &h->info, rllb_nn_search_net(h->search)) : EX_OK;
    h->before = done_by(h);
    return status;
}

static void hunt_close(hunt *h)
{
    rllb_nn_search_destroy(h->search);
    rllb_nn_policy_destroy(h->candidate);
    rllb_nn_policy_destroy(h->mean);
    if (h->board) munmap(h->board, h->board_bytes);
    free(h->rows);
}

/* Generation by generation, to the end, to an interrupt or to a failure; what there is then is saved. */
static int hunt_run(hunt *h)
{
    int status = EX_OK;
    bool worked = true;

    ex_catch_interrupts();
    ex_progress_start(&h->bar, "searching", (generations - h->before) * h->tasks, quiet);
    while (status == EX_OK && worked && done_by(h) < generations) {
        worked = generation_run(h);
        if (!worked) break;
        status = generation_end(h);
        if (status == EX_OK && done_by(h) % SAVE_EVERY == 0 && !save(h)) status = EX_FAILED;
    }
    ex_progress_end(&h->bar, status == EX_OK && worked ? "searched %d generations," : NULL,
                    (int)(generations - h->before));
    if (status == EX_OK && !worked && !ex_interrupted()) status = EX_FAILED;
    if (status == EX_OK && done_by(h) > 0 && (!save(h) || !curve_draw(h))) status = EX_FAILED;
    if (status != EX_OK || worked) return status;
    fprintf(stderr, "marl_search: stopped with %d of %d generations done; go on with the same command and --resume\n",
            (int)done_by(h), (int)generations);
    return ex_interrupt_status();
}

/* The model that it starts at, as it is, but for how far apart balancers draw their weights. */
static int pass_on(hunt *h)
{
    ex_model m;
    bool saved;

    if (!ex_model_open(from, &m)) return EX_FAILED;
    m.info.spread = (float)spread;
    rllb_nn_net_copy(rllb_nn_policy_net(h->mean), rllb_nn_search_net(h->search));
    saved = ex_model_save(ex_path_join(out, "model.safetensors").text, h->mean, &m.info);
    ex_model_close(&m);
    return saved ? EX_OK : EX_FAILED;
}

static void tell(const hunt *h)
{
    double values[SMOOTH];
    char text[64];
    int32_t n = generations < SMOOTH ? generations : SMOOTH, i;

    for (i = 0; i < n; i++) values[i] = h->rows[generations - n + i].mean;
    printf("%s after %d generations: judged %s beside SED that is told the\n"
           "capacities, mean over the worlds of the last %d generations (difference of logarithms; above 0: better).\n",
           ex_path_join(out, "model.safetensors").text, (int)generations,
           ex_estimate_text(ex_estimate_t(values, n), 3, text), (int)n);
}

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    hunt h;
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    if (worlds_of == RANDOM_WORLDS && servers > 0) {
        return ex_usage("servers", "random worlds have numbers of their own; it goes with --worlds-of PRESET");
    }
    if (generations == 0 && (!from || resume)) return ex_usage("generations", "0 goes with --from, without --resume");
    memset(&h, 0, sizeof h);
    h.lock = &lock;
    status = hunt_open(&h);
    if (status == EX_OK && !ex_folder_lock(out, &lock)) status = EX_FAILED;
    if (status == EX_OK) status = generations > 0 ? hunt_run(&h) : pass_on(&h);
    if (status == EX_OK && generations > 0 && !quiet) tell(&h);
    hunt_close(&h);
    ex_folder_unlock(&lock);
    return status;
}
