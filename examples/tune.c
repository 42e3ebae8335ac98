/* tune.c - a grid of hyper-parameters for the learned balancer, over several seeds, on all processors or many machines

   Shows how to search honestly: every point of the grid is run with the same seeds, its score comes with an interval,
   and the ranking comes with the figure that says what it is worth, how well two seeds agree on it. Without options
   it is the published grid of 18 on the three-server cluster, printed beside the published ranking.

   Build:   make build/tune
   Run:     build/tune --out out/tune
   Prints:  the ranking, and what can be concluded from it
   Writes:  results.json, ranking.csv, runs.csv, heat_map.png, ranking.png, runs/NAME.csv (one history for every run)

   Stopped, by Ctrl-C or worse, it goes on with --resume. Slices for other machines: --shard, --merge, docs/cluster.md.
   A run is its settings and its seed; the files do not depend on how many machines or processes computed them. */

#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCORE_EPISODES = 20, RUNS_MOST = 100000 };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static const char *const no_yes[] = { "no", "yes", NULL };

static ex_list lrs = { 3, { 1e-3, 5e-4, 1e-4 } }, gammas = { 3, { 0.99, 0.95, 0.90 } };
static ex_list batches = { 1, { 128 } }, replays = { 1, { 50000 } }, n_steps = { 1, { 1 } }, everys = { 1, { 4 } };
static ex_list taus = { 1, { 0.005 } }, clips = { 1, { 1 } }, decays = { 1, { 0.995 } }, floors = { 1, { 0.01 } };
static uint32_t modes = 1u << RLLB_ENV_SEED0, traffics = 1u << RLLB_ENV_HIGH, algos = 3, doubles = 1, pers = 1;
static int32_t episodes = 800, seeds = 3, soft_every = 10;
static uint64_t seed = 1;
static bool quick;
static ex_study_how how = { .out = "out/tune" };

/* trace needs a file, which a grid has no place for. */
static const char *const traffic_names[] = { "low", "high", "bursty", NULL };

static ex_option options[] = {
    EX_HEADING("Grid: every combination of these values, each a list by comma"),
    EX_LIST("lr", &lrs, 1e-9, 10, "X,...", "learning rates of Adam"),
    EX_LIST("gamma", &gammas, 0, 1, "X,...", "discounts of later rewards"),
    EX_CHOICES("algo", &algos, ex_algo_names, "kinds of network"),
    EX_CHOICES("double", &doubles, no_yes, "Double DQN"),
    EX_CHOICES("per", &pers, no_yes, "prioritised replay"),
    EX_INT_LIST("batch", &batches, 1, 65536, "N,...", "transitions to an update"),
    EX_INT_LIST("replay", &replays, 1, 5000000, "N,...", "transitions remembered"),
    EX_INT_LIST("n-step", &n_steps, 1, 64, "N,...", "rewards summed before bootstrapping"),
    EX_INT_LIST("learn-every", &everys, 1, 1000000, "N,...", "steps to an update"),
    EX_LIST("tau", &taus, 1e-9, 1, "X,...", "soft target updates"),
    EX_LIST("clip", &clips, 0, 1e9, "X,...", "greatest norm of a gradient; 0: any"),
    EX_LIST("epsilon-decay", &decays, 0, 1, "X,...", "share of random actions, times this after each episode"),
    EX_LIST("epsilon-floor", &floors, 0, 1, "X,...", "but never below"),
    EX_CHOICES("env", &modes, ex_mode_names, "worlds; each is ranked for itself"),
    EX_CHOICES("traffic", &traffics, traffic_names, "what arrives there"),
    EX_HEADING("Runs"),
    EX_INT("episodes", &episodes, 1, 1000000, "N", "episodes to a run"),
    EX_INT("seeds", &seeds, 1, 1000, "N", "runs for every combination"),
    EX_SEED("seed", &seed, "the first of the seeds"),
    EX_INT("soft-every", &soft_every, 0, 1000000, "N", "steps to an extra soft target update; 0: none"),
    EX_FLAG("quick", &quick, "short form: 2 learning rates, 2 discounts, 2 seeds, 80 episodes, unless given"),
    EX_STUDY_OPTIONS(how),
};

static const char *folders[EX_STUDY_FOLDERS_MAX];

static ex_program program = {
    .name = "tune",
    .summary = "a grid of hyper-parameters, ranked over several seeds",
    .details = "The defaults are the published grid: an update every 4th step, an extra soft target update every\n"
               "10th, score = mean of the last 20 returns, averaged over the seeds 1, 2, 3. Published figures are\n"
               "of the cluster seed0; the published text says high traffic, the published program had low in it.\n"
               "The figures fit high, so it is the default; --traffic low,high runs both.\n",
    .options = options,
    .option_count = EX_COUNT(options),
    .arguments_name = "[DIR...]",
    .arguments_max = EX_STUDY_FOLDERS_MAX,
    .arguments = folders,
};

/* ---- the grid ---------------------------------------------------------------------------------------------- */

enum {
    D_ENV,
    D_TRAFFIC,
    D_ALGO,
    D_LR,
    D_GAMMA,
    D_DOUBLE,
    D_PER,
    D_BATCH,
    D_REPLAY,
    D_N_STEP,
    D_EVERY,
    D_TAU,
    D_CLIP,
    D_DECAY,
    D_FLOOR,
    DIMENSIONS
};

typedef struct dimension {
    const char *name, *const *names; /* of its values, if they are choices */
    ex_list values;
} dimension;

static dimension grid[DIMENSIONS] = {
    { "env", ex_mode_names, { 0, { 0 } } },       { "traffic", traffic_names, { 0, { 0 } } },
    { "algo", ex_algo_names, { 0, { 0 } } },      { "lr", NULL, { 0, { 0 } } },
    { "gamma", NULL, { 0, { 0 } } },              { "double", no_yes, { 0, { 0 } } },
    { "per", no_yes, { 0, { 0 } } },              { "batch", NULL, { 0, { 0 } } },
    { "replay", NULL, { 0, { 0 } } },             { "n-step", NULL, { 0, { 0 } } },
    { "learn-every", NULL, { 0, { 0 } } },        { "tau", NULL, { 0, { 0 } } },
    { "clip", NULL, { 0, { 0 } } },               { "epsilon-decay", NULL, { 0, { 0 } } },
    { "epsilon-floor", NULL, { 0, { 0 } } },
};

/* A point of the grid and how it did. */
typedef struct point {
    double value[DIMENSIONS];
    ex_estimate score;
    double length, greedy, survival, published; /* published: NaN if there is none */
    int32_t group, world, rank, published_rank;
} point;

static point *points;
static int32_t point_count, world_count;

/* Published: rank by rank. */
static const struct {
    double lr, gamma;
    int32_t algo;
    double score;
} published[] = {
    { 1e-3, 0.99, EX_DUELING, -62.98 }, { 1e-3, 0.95, EX_DUELING, -66.02 }, { 5e-4, 0.99, EX_DUELING, -70.18 },
    { 1e-3, 0.99, EX_DQN, -70.27 },     { 1e-3, 0.90, EX_DUELING, -73.71 }, { 5e-4, 0.95, EX_DQN, -74.21 },
    { 1e-4, 0.99, EX_DQN, -74.31 },     { 5e-4, 0.90, EX_DQN, -75.92 },     { 1e-3, 0.90, EX_DQN, -76.34 },
    { 1e-4, 0.99, EX_DUELING, -76.60 }, { 5e-4, 0.90, EX_DUELING, -77.11 }, { 1e-4, 0.95, EX_DQN, -78.42 },
    { 5e-4, 0.95, EX_DUELING, -78.54 }, { 1e-4, 0.90, EX_DUELING, -78.60 }, { 5e-4, 0.99, EX_DQN, -79.78 },
    { 1e-4, 0.90, EX_DQN, -81.26 },     { 1e-3, 0.95, EX_DQN, -82.22 },     { 1e-4, 0.95, EX_DUELING, -86.12 },
};

static void from_bits(ex_list *list, uint32_t bits)
{
    int32_t i;

    list->count = 0;
    for (i = 0; i < 32; i++) {
        if (bits >> i & 1) list->values[list->count++] = i;
    }
}

/* The same value twice would be the same runs twice. */
static int check_values(const dimension *d)
{
    int32_t i, k;

    for (i = 0; i < d->values.count; i++) {
        for (k = 0; k < i; k++) {
            if (d->values.values[i] == d->values.values[k]) {
                return ex_usage(d->name, "%.10g is there twice", d->values.values[i]);
            }
        }
    }
    return EX_GO_ON;
}

static int grid_make(void)
{
    double runs = seeds;
    int32_t d;

    from_bits(&grid[D_ENV].values, modes);
    from_bits(&grid[D_TRAFFIC].values, traffics);
    from_bits(&grid[D_ALGO].values, algos);
    from_bits(&grid[D_DOUBLE].values, doubles);
    from_bits(&grid[D_PER].values, pers);
    grid[D_LR].values = lrs;
    grid[D_GAMMA].values = gammas;
    grid[D_BATCH].values = batches;
    grid[D_REPLAY].values = replays;
    grid[D_N_STEP].values = n_steps;
    grid[D_EVERY].values = everys;
    grid[D_TAU].values = taus;
    grid[D_CLIP].values = clips;
    grid[D_DECAY].values = decays;
    grid[D_FLOOR].values = floors;
    for (d = 0; d < DIMENSIONS; d++) {
        int status = check_values(&grid[d]);
        if (status != EX_GO_ON) return status;
        runs *= grid[d].values.count;
    }
    if (runs > RUNS_MOST) return ex_usage("seeds", "%.0f runs are more than %d", runs, RUNS_MOST);
    for (d = 0; d < batches.count * replays.count; d++) {
        double batch = batches.values[d % batches.count], replay = replays.values[d / batches.count];
        if (replay < batch) return ex_usage("replay", "%.0f is less than a batch of %.0f", replay, batch);
    }
    return EX_GO_ON;
}

static const char *value_text(int32_t d, double value, char out[32])
{
    if (grid[d].names) snprintf(out, 32, "%s", grid[d].names[(int32_t)value]);
    else ex_number_double(value, out);
    return out;
}

/* "dueling lr 0.001 gamma 0.99", and every other dimension of which there are several values. */
static void point_text(const point *p, bool with_world, char *out, size_t size)
{
    char value[32];
    size_t used = 0;
    int32_t d;

    out[0] = '\0';
    for (d = with_world ? D_ENV : D_ALGO; d < DIMENSIONS && used + 1 < size; d++) {
        if (d > D_GAMMA && grid[d].values.count == 1) continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s%s%s", used ? " " : "", d <= D_ALGO ? "" : grid[d].name,
                                 d <= D_ALGO ? "" : " ", value_text(d, p->value[d], value));
    }
}

static ex_trial point_trial(const point *p)
{
    ex_trial t;

    ex_trial_default(&t);
    t.mode = (int32_t)p->value[D_ENV];
    t.traffic = (int32_t)p->value[D_TRAFFIC];
    t.algo = (int32_t)p->value[D_ALGO];
    t.lr = p->value[D_LR];
    t.gamma = p->value[D_GAMMA];
    t.double_dqn = p->value[D_DOUBLE] > 0;
    t.prioritized = p->value[D_PER] > 0;
    t.batch = (int32_t)p->value[D_BATCH];
    t.replay = (int32_t)p->value[D_REPLAY];
    t.n_step = (int32_t)p->value[D_N_STEP];
    t.learn_every = (int32_t)p->value[D_EVERY];
    t.tau = p->value[D_TAU];
    t.clip = p->value[D_CLIP];
    t.epsilon_decay = p->value[D_DECAY];
    t.epsilon_floor = p->value[D_FLOOR];
    t.soft_every = soft_every;
    t.episodes = episodes;
    return t;
}

static const char *name_of_group(int32_t group)
{
    static char text[160];

    point_text(&points[group], world_count > 1, text, sizeof text);
    return text;
}

/* Points in the order of the grid, the world changing slowest; their runs in the order of the seeds. */
static int study_fill(ex_study *s)
{
    int32_t i, d, k, left;
    char name[160], *at;

    point_count = 1;
    for (d = 0; d < DIMENSIONS; d++) point_count *= grid[d].values.count;
    world_count = grid[D_ENV].values.count * grid[D_TRAFFIC].values.count;
    points = calloc((size_t)point_count, sizeof *points);
    if (!points) return ex_fail("no memory for a grid of %d", (int)point_count);
    for (i = 0; i < point_count; i++) {
        point *p = &points[i];
        ex_trial t;
        left = i;
        for (d = DIMENSIONS - 1; d >= 0; d--) {
            p->value[d] = grid[d].values.values[left % grid[d].values.count];
            left /= grid[d].values.count;
        }
        p->group = i;
        p->world = i / (point_count / world_count);
        t = point_trial(p);
        point_text(p, true, name, sizeof name);
        for (at = name; *at; at++) {
            if (*at == ' ') *at = '_';
        }
        for (k = 0; k < seeds; k++) {
            t.seed = seed + (uint64_t)k;
            if (!ex_study_add(s, &t, i, name)) return EX_FAILED;
        }
    }
    s->tail = SCORE_EPISODES;
    s->group_name = name_of_group;
    return EX_GO_ON;
}

/* ---- what comes out ---------------------------------------------------------------------------------------- */

/* What can be said of one world. */
typedef struct verdict {
    ex_estimate correlation; /* with the published scores, over the points that both have */
    double agreement;        /* mean rank correlation of two seeds of ours */
    ex_estimate dueling;     /* dueling less dqn, over pairs that differ in nothing else */
    int32_t shared, best, published_best; /* points that both have; indices of points, -1: none */
    double bias;             /* our mean score less the published, over the shared points */
} verdict;

static int by_score(const void *a, const void *b)
{
    const point *x = a, *y = b;

    if (x->world != y->world) return x->world < y->world ? -1 : 1;
    if (x->score.mean != y->score.mean) return x->score.mean > y->score.mean ? -1 : 1;
    return x->group < y->group ? -1 : 1;
}

static double score_of(const ex_study *s, const point *p, int32_t k)
{
    const ex_run *r = ex_study_find(s, p->group, k);

    return ex_tail_mean(ex_run_returns(r), r->trial.episodes, SCORE_EPISODES);
}

static void point_judge(const ex_study *s, point *p)
{
    double scores[1000];
    ex_trial usual, own;
    int32_t k, i;

    for (k = 0; k < seeds; k++) {
        const ex_run *r = ex_study_find(s, p->group, k);
        scores[k] = score_of(s, p, k);
        p->length += ex_tail_mean(ex_run_lengths(r), r->trial.episodes, SCORE_EPISODES) / seeds;
        p->greedy += ex_run_figure(r, EX_GREEDY_RETURN) / seeds;
        p->survival += ex_run_figure(r, EX_GREEDY_SURVIVAL) / seeds;
    }
    p->score = ex_estimate_t(scores, seeds);
    p->published = (double)NAN;
    ex_trial_default(&usual);
    own = point_trial(p);
    if (own.mode != RLLB_ENV_SEED0 || own.traffic == RLLB_ENV_BURSTY || own.double_dqn || own.prioritized) return;
    if (own.batch != usual.batch || own.n_step != 1 || own.tau != usual.tau || own.clip != usual.clip) return;
    if (own.epsilon_decay != usual.epsilon_decay || own.learn_every != 4) return;
    if (own.epsilon_floor != usual.epsilon_floor || own.replay != usual.replay) return;
    for (i = 0; i < EX_COUNT(published); i++) {
        if (own.lr != published[i].lr || own.gamma != published[i].gamma || own.algo != published[i].algo) continue;
        p->published = published[i].score;
        p->published_rank = i + 1;
    }
}

static void judge_all(const ex_study *s)
{
    int32_t i;

    for (i = 0; i < point_count; i++) point_judge(s, &points[i]);
    qsort(points, (size_t)point_count, sizeof *points, by_score);
    for (i = 0; i < point_count; i++) points[i].rank = i % (point_count / world_count) + 1;
}

/* Do the two differ in the algorithm only? */
static bool is_pair(const point *a, const point *b)
{
    int32_t d;

    for (d = 0; d < DIMENSIONS; d++) {
        if (d != D_ALGO && a->value[d] != b->value[d]) return false;
    }
    return a->value[D_ALGO] == EX_DQN && b->value[D_ALGO] == EX_DUELING;
}

/* Mean rank correlation over all pairs of seeds. */
static double seeds_agree(const ex_study *s, const point *first, int32_t n)
{
    double *scores = malloc((size_t)seeds * (size_t)n * sizeof *scores), sum = 0;
    int32_t i, k, m, pairs = 0;

    for (k = 0; scores && k < seeds; k++) {
        for (i = 0; i < n; i++) scores[k * n + i] = score_of(s, &first[i], k);
    }
    for (k = 0; scores && k < seeds && k < 20; k++) {
        for (m = 0; m < k; m++) {
            sum += ex_spearman(scores + k * n, scores + m * n, n);
            pairs++;
        }
    }
    free(scores);
    return pairs ? sum / pairs : (double)NAN;
}

static bool conclude(const ex_study *s, int32_t world, verdict *v)
{
    int32_t n = point_count / world_count, i, k, pairs = 0;
    const point *first = points + (size_t)world * (size_t)n;
    double *ours = malloc(3 * (size_t)n * sizeof *ours), *theirs = ours + n, *differences = ours + 2 * n;

    if (!ours) {
        ex_fail("no memory for a grid of %d", (int)point_count);
        return false;
    }
    memset(v, 0, sizeof *v);
    v->best = world * n;
    v->published_best = -1;
    for (i = 0; i < n; i++) {
        for (k = 0; k < n; k++) {
            if (is_pair(&first[i], &first[k])) differences[pairs++] = first[k].score.mean - first[i].score.mean;
        }
        if (isnan(first[i].published)) continue;
        if (first[i].published_rank == 1) v->published_best = world * n + i;
        ours[v->shared] = first[i].score.mean;
        theirs[v->shared] = first[i].published;
        v->bias += first[i].score.mean - first[i].published;
        v->shared++;
    }
    if (v->shared) v->bias /= v->shared;
    v->correlation = ex_spearman_bootstrap(ours, theirs, v->shared);
    v->agreement = seeds_agree(s, first, n);
    v->dueling = ex_estimate_bootstrap(differences, pairs);
    free(ours);
    return true;
}

/* ---- words ------------------------------------------------------------------------------------------------- */

static const char *world_text(int32_t world, char out[64])
{
    const point *p = &points[(size_t)world * (size_t)(point_count / world_count)];

    snprintf(out, 64, "cluster %s, %s traffic", ex_mode_names[(int32_t)p->value[D_ENV]],
             traffic_names[(int32_t)p->value[D_TRAFFIC]]);
    return out;
}

static void verdict_text(const verdict *v, int32_t world, ex_text *out)
{
    const point *best = &points[v->best];
    char name[160], where[64], interval[64];

    point_text(best, false, name, sizeof name);
    ex_text_printf(out, "%s: best here is %s, score %s.", world_text(world, where), name,
                   ex_estimate_text(best->score, 2, interval));
    if (v->published_best >= 0) {
        const point *theirs = &points[v->published_best];
        ex_text_printf(out, " The published winner (dueling lr 0.001 gamma 0.99) is number %d of %d here, score %s.",
                       (int)theirs->rank, (int)(point_count / world_count),
                       ex_estimate_text(theirs->score, 2, interval));
    }
    if (v->shared > 2 && !isnan(v->correlation.mean)) {
        ex_text_printf(out, " Rank correlation with the published table over %d points: %.2f, 95 %% interval %s; our "
                       "scores are %.1f %s on average.", (int)v->shared, v->correlation.mean,
                       ex_interval_text(v->correlation, 2, interval), fabs(v->bias), v->bias > 0 ? "higher" : "lower");
    }
    if (!isnan(v->agreement)) {
        ex_text_printf(out, " Two of our own seeds agree on the ranking with %.2f: %s.", v->agreement,
                       v->agreement < 0.3   ? "it is mostly chance, and so is any single winner"
                       : v->agreement < 0.8 ? "its ends can be trusted, its neighbours cannot"
                                            : "it can be trusted");
    }
    if (!isnan(v->dueling.low)) {
        ex_text_printf(out, " Dueling less dqn, all else equal: %+.2f, 95 %% interval %s%s.", v->dueling.mean,
                       ex_interval_text(v->dueling, 2, interval),
                       v->dueling.low > 0    ? ": better"
                       : v->dueling.high < 0 ? ": worse"
                                             : ": no difference to be seen");
    }
    if (best->value[D_ENV] == RLLB_ENV_SEED0 && best->value[D_TRAFFIC] == RLLB_ENV_HIGH) {
        ex_text_printf(out,
                       " Mind what the score rewards: in this world an early crash (-50, and over) costs less than "
                       "living on. Always the same server crashes in step 4 and has -54.9, least load lives for 39 "
                       "steps and has -101.");
    }
}

static void print_tables(void)
{
    int32_t n = point_count / world_count, i, d;
    char text[64], where[64];

    for (i = 0; i < point_count; i++) {
        static ex_table table;
        const point *p = &points[i];
        if (p->rank == 1) {
            memset(&table, 0, sizeof table);
            printf("\n%s: %d points, seeds %llu to %llu, %d episodes\n", world_text(p->world, where), (int)n,
                   (unsigned long long)seed, (unsigned long long)seed + (unsigned long long)seeds - 1, (int)episodes);
            ex_table_cell(&table, "rank");
            for (d = D_ALGO; d < DIMENSIONS; d++) {
                if (d <= D_GAMMA || grid[d].values.count > 1) ex_table_cell(&table, "%s", grid[d].name);
            }
            ex_table_cell(&table, "score");
            ex_table_cell(&table, "length");
            ex_table_cell(&table, "greedy");
            ex_table_cell(&table, "survived");
            ex_table_cell(&table, "published");
            ex_table_cell(&table, "rank there");
            ex_table_row(&table);
        }
        ex_table_cell(&table, "%d", (int)p->rank);
        for (d = D_ALGO; d < DIMENSIONS; d++) {
            if (d <= D_GAMMA || grid[d].values.count > 1) ex_table_cell(&table, "%s", value_text(d, p->value[d], text));
        }
        ex_table_cell(&table, "%s", ex_estimate_text(p->score, 2, text));
        ex_table_cell(&table, "%.1f", p->length);
        ex_table_cell(&table, "%.2f", p->greedy);
        ex_table_cell(&table, "%.0f %%", 100 * p->survival);
        ex_table_cell(&table, isnan(p->published) ? "-" : "%.2f", p->published);
        ex_table_cell(&table, p->published_rank ? "%d" : "-", (int)p->published_rank);
        ex_table_row(&table);
        if (p->rank == n) {
            ex_table_print(&table, stdout);
            ex_table_free(&table);
        }
    }
    printf("score: mean return of the last %d episodes, with its 95 %% interval over the seeds; length: of those "
           "episodes;\ngreedy, survived: %d fresh episodes without exploration\n", SCORE_EPISODES, EX_STUDY_JUDGED);
    if (modes >> RLLB_ENV_SEED0 & 1) {
        printf("published: by its text of high traffic, though the program published with it had low in it. Low\n"
               "traffic cannot give such figures: there every point of this grid scores -17.\n");
    }
    printf("\n");
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_ranking(void)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    char value[32], header[512] = "rank";
    int32_t i, d;
    bool ok;

    for (d = 0; d < DIMENSIONS; d++) {
        char *at;
        size_t used = strlen(header);
        snprintf(header + used, sizeof header - used, ",%s", grid[d].name);
        for (at = header; *at; at++) {
            if (*at == '-') *at = '_';
        }
    }
    ex_text_printf(&text, "%s,", header);
    ex_csv_header(&csv,
                  "score,score_low,score_high,length,greedy_return,greedy_survival,published_score,published_rank");
    for (i = 0; i < point_count; i++) {
        const point *p = &points[i];
        ex_csv_int(&csv, p->rank);
        for (d = 0; d < DIMENSIONS; d++) ex_csv_string(&csv, value_text(d, p->value[d], value));
        ex_csv_double(&csv, p->score.mean);
        ex_csv_double(&csv, p->score.low);
        ex_csv_double(&csv, p->score.high);
        ex_csv_double(&csv, p->length);
        ex_csv_double(&csv, p->greedy);
        ex_csv_double(&csv, p->survival);
        if (isnan(p->published)) {
            ex_csv_string(&csv, "");
            ex_csv_string(&csv, "");
        } else {
            ex_csv_double(&csv, p->published);
            ex_csv_int(&csv, p->published_rank);
        }
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(how.out, "ranking.csv").text);
    ex_text_free(&text);
    return ok;
}

static void json_point(ex_json *j, const point *p)
{
    char value[32];
    int32_t d;

    ex_json_row(j, NULL);
    ex_json_int(j, "rank", p->rank);
    for (d = 0; d < DIMENSIONS; d++) {
        if (grid[d].names) ex_json_string(j, grid[d].name, value_text(d, p->value[d], value));
        else ex_json_double(j, grid[d].name, p->value[d]);
    }
    ex_json_double(j, "score", p->score.mean);
    ex_json_double(j, "score_low", p->score.low);
    ex_json_double(j, "score_high", p->score.high);
    ex_json_double(j, "length", p->length);
    ex_json_double(j, "greedy_return", p->greedy);
    ex_json_double(j, "greedy_survival", p->survival);
    ex_json_double(j, "published_score", p->published);
    if (p->published_rank) ex_json_int(j, "published_rank", p->published_rank);
    ex_json_end(j);
}

static bool write_results(const ex_study *s, const verdict *verdicts, const ex_text *words)
{
    int32_t n = point_count / world_count, w, i;
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    char name[160];
    bool ok;

    ex_study_json_begin(s, &j, &program);
    ex_json_array(&j, "worlds");
    for (w = 0; w < world_count; w++) {
        const verdict *v = &verdicts[w];
        ex_json_object(&j, NULL);
        ex_json_string(&j, "env", ex_mode_names[(int32_t)points[w * n].value[D_ENV]]);
        ex_json_string(&j, "traffic", traffic_names[(int32_t)points[w * n].value[D_TRAFFIC]]);
        point_text(&points[v->best], false, name, sizeof name);
        ex_json_string(&j, "best", name);
        ex_json_int(&j, "published_points", v->shared);
        ex_json_estimate(&j, "rank_correlation_with_published", v->correlation);
        ex_json_double(&j, "rank_correlation_of_two_seeds", v->agreement);
        ex_json_estimate(&j, "dueling_less_dqn", v->dueling);
        ex_json_string(&j, "verdict", words[w].data ? words[w].data : "");
        ex_json_array(&j, "ranking");
        for (i = 0; i < n; i++) json_point(&j, &points[w * n + i]);
        ex_json_end(&j);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(how.out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* The best score at (lr, gamma) over whatever else is searched. */
static double best_at(int32_t world, int32_t algo, double lr, double gamma_, bool theirs)
{
    int32_t n = point_count / world_count, i;
    double best = (double)NAN;

    for (i = world * n; i < (world + 1) * n; i++) {
        const point *p = &points[i];
        double value = theirs ? p->published : p->score.mean;
        if (p->value[D_ALGO] != algo || p->value[D_LR] != lr || p->value[D_GAMMA] != gamma_) continue;
        if (!isnan(value) && !(value <= best)) best = value;
    }
    return best;
}

static bool searched_more(void)
{
    int32_t d;

    for (d = D_GAMMA + 1; d < DIMENSIONS; d++) {
        if (grid[d].values.count > 1) return true;
    }
    return false;
}

typedef struct heat {
    ex_heat_map map;
    char title[96];
    double *values;
} heat;

/* One map for each kind of network; a row for each world, and one for the published figures. */
static bool draw_heat(const verdict *verdicts)
{
    int32_t columns = grid[D_ALGO].values.count, rows = world_count, k, r, c, i;
    bool theirs = false, ok = true;
    char row_names[EX_LIST_MAX][32], column_names[EX_LIST_MAX][32], where[64], note[240];
    const char *row_list[EX_LIST_MAX], *column_list[EX_LIST_MAX];
    size_t cells = (size_t)lrs.count * (size_t)gammas.count;
    ex_panel *panels;
    ex_figure figure;
    heat *maps;
    double *values;

    for (i = 0; i < world_count; i++) theirs = theirs || verdicts[i].shared > 0;
    rows += theirs;
    for (r = 0; r < lrs.count; r++) row_list[r] = value_text(D_LR, lrs.values[r], row_names[r]);
    for (c = 0; c < gammas.count; c++) column_list[c] = value_text(D_GAMMA, gammas.values[c], column_names[c]);
    maps = calloc((size_t)(rows * columns), sizeof *maps);
    panels = calloc((size_t)(rows * columns), sizeof *panels);
    values = calloc((size_t)(rows * columns) * cells, sizeof *values);
    memset(&figure, 0, sizeof figure);
    for (k = 0; maps && panels && values && k < rows * columns; k++) {
        int32_t row = k / columns, algo = (int32_t)grid[D_ALGO].values.values[k % columns];
        bool last = row == world_count;
        double low = (double)INFINITY, high = -(double)INFINITY;
        heat *m = &maps[k];
        m->values = values + (size_t)k * cells;
        for (i = 0; i < columns; i++) { /* one scale for the maps of a row */
            for (r = 0; r < lrs.count; r++) {
                for (c = 0; c < gammas.count; c++) {
                    int32_t a = (int32_t)grid[D_ALGO].values.values[i], w;
                    double value = best_at(last ? 0 : row, a, lrs.values[r], gammas.values[c], last);
                    for (w = 1; last && isnan(value) && w < world_count; w++) {
                        value = best_at(w, a, lrs.values[r], gammas.values[c], true);
                    }
                    if (a == algo) m->values[r * gammas.count + c] = value;
                    if (value < low) low = value;
                    if (value > high) high = value;
                }
            }
        }
        snprintf(m->title, sizeof m->title, "%s, %s", ex_algo_names[algo],
                 last ? "as published" : world_text(row, where));
        m->map.title = m->title;
        m->map.x_label = "discount gamma (per step)";
        m->map.y_label = "learning rate (of Adam)";
        m->map.value_label = "score (return of an episode)";
        m->map.columns = column_list;
        m->map.rows = row_list;
        m->map.column_count = gammas.count;
        m->map.row_count = lrs.count;
        m->map.values = m->values;
        m->map.low = low;
        m->map.high = high;
        panels[k].heat = &m->map;
    }
    if (!maps || !panels || !values) {
        ex_fail("no memory for the picture");
        ok = false;
    }
    snprintf(note, sizeof note,
             "Mean return of the last %d of %d episodes over %d seeds; brighter is better. Every row of "
             "maps has its own scale.%s",
             SCORE_EPISODES, (int)episodes, (int)seeds,
             searched_more() ? " Each cell shows the best of the other settings." : "");
    figure.title = "Learning rate and discount";
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = rows * columns;
    figure.columns = columns;
    ok = ok && ex_figure_write(&figure, 200 + 560 * columns, 140 + 400 * (rows < 18 ? rows : 18),
                               ex_path_join(how.out, "heat_map.png").text);
    free(maps);
    free(panels);
    free(values);
    return ok;
}

/* The ranking of one world with intervals, the published scores beside it; at most the first 30. */
static bool draw_ranking(const verdict *verdicts, int32_t world)
{
    enum { MOST = 30 };
    static char names[MOST][160];
    int32_t n = point_count / world_count, shown = n < MOST ? n : MOST, i;
    const char *list[MOST];
    char file[48], where[64], subtitle[200], note[200];
    ex_color colors[2];
    ex_bar_chart chart;
    double values[2 * MOST], errors[2 * MOST];
    static const char *const groups[] = { "ours, with its 95 % interval over the seeds", "published" };
    bool both = verdicts[world].shared > 0;

    for (i = 0; i < shown; i++) {
        const point *p = &points[world * n + i];
        char *at;
        point_text(p, false, names[i], sizeof names[i]);
        at = strstr(names[i], " gamma ");
        if (at) memmove(at + 1, at + 7, strlen(at + 7) + 1);
        at = strstr(names[i], " lr ");
        if (at) memmove(at + 1, at + 4, strlen(at + 4) + 1);
        list[i] = names[i];
        values[both ? 2 * i : i] = p->score.mean;
        errors[both ? 2 * i : i] = isnan(p->score.low) ? 0 : (p->score.high - p->score.low) / 2;
        if (!both) continue;
        values[2 * i + 1] = p->published;
        errors[2 * i + 1] = 0;
    }
    memset(&chart, 0, sizeof chart);
    snprintf(subtitle, sizeof subtitle, "%s; %d seeds, %d episodes; closer to 0 is better", world_text(world, where),
             (int)seeds, (int)episodes);
    snprintf(note, sizeof note, "Below the bars: network, learning rate, discount.%s",
             n > shown ? " Only the first 30 are shown; ranking.csv has them all." : "");
    colors[0] = ex_palette(0);
    colors[1] = EX_RGB(0xB8C0C8u);
    chart.title = "The grid, ranked";
    chart.subtitle = subtitle;
    chart.note = note;
    chart.y.label = "score (return of an episode)";
    chart.categories = list;
    chart.category_count = shown;
    chart.groups = both ? groups : NULL;
    chart.group_count = both ? 2 : 1;
    chart.values = values;
    chart.errors = errors;
    chart.colors = colors;
    chart.value_format = "";
    if (world == 0) snprintf(file, sizeof file, "ranking.png");
    else snprintf(file, sizeof file, "ranking_%d.png", (int)world + 1);
    return ex_bar_chart_write(&chart, 1400, 760, ex_path_join(how.out, file).text);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static void quick_defaults(void)
{
    static const ex_list few_lrs = { 2, { 1e-3, 1e-4 } }, few_gammas = { 2, { 0.99, 0.90 } };

    if (!ex_option_given(&program, "lr")) lrs = few_lrs;
    if (!ex_option_given(&program, "gamma")) gammas = few_gammas;
    if (!ex_option_given(&program, "seeds")) seeds = 2;
    if (!ex_option_given(&program, "episodes")) episodes = 80;
}

static int report(const ex_study *s)
{
    verdict *verdicts = calloc((size_t)world_count, sizeof *verdicts);
    ex_text *words = calloc((size_t)world_count, sizeof *words);
    bool ok = verdicts && words;
    int32_t w;

    if (!ok) ex_fail("no memory for %d worlds", (int)world_count);
    if (ok) judge_all(s);
    for (w = 0; ok && w < world_count; w++) {
        ok = conclude(s, w, &verdicts[w]);
        if (ok) verdict_text(&verdicts[w], w, &words[w]);
    }
    ok = ok && write_ranking() && ex_study_write_runs(s) && write_results(s, verdicts, words) && draw_heat(verdicts);
    for (w = 0; ok && w < world_count; w++) ok = draw_ranking(verdicts, w);
    if (ok && !how.quiet) {
        print_tables();
        for (w = 0; w < world_count; w++) printf("%s\n", words[w].data ? words[w].data : "");
        printf("in %s: results.json ranking.csv runs.csv heat_map.png ranking.png runs/\n", how.out);
    }
    for (w = 0; words && w < world_count; w++) ex_text_free(&words[w]);
    free(words);
    free(verdicts);
    return ok ? EX_OK : EX_FAILED;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);
    ex_study study;

    if (status != EX_GO_ON) return status;
    if (quick) quick_defaults();
    status = ex_study_open(&study, &how, program.argument_count);
    if (status == EX_GO_ON) status = grid_make();
    if (status == EX_GO_ON) status = study_fill(&study);
    if (status == EX_GO_ON) status = ex_study_run(&study, folders, program.argument_count);
    if (status == EX_GO_ON) status = report(&study);
    ex_study_close(&study);
    free(points);
    return status;
}
