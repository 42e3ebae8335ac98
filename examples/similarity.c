/* similarity.c - are simulated loads like recorded ones? The published figure, its worth, and a test that can tell

   The published experiment takes each simulated load vector's Euclidean distance d to the nearest row of a recorded
   trace, whenever that row was recorded, and calls 100 (1 - d / sqrt(n)) the similarity in percent. This program
   computes it exactly, and puts beside it what scores without any simulation (noise, one constant vector), what the
   classical policies score, what the trace scores against itself, the similarity row by row, and a two-sample test.

   Build:   make build/similarity
   Run:     build/similarity --reference trace.csv --simulated simulation_log.csv --out out/similarity
   Prints:  the figure, the table of comparisons, and in words what the figure is worth
   Writes:  results.json, similarity.csv, comparisons.csv, similarity_histogram.png, similarity_series.png,
            similarity_comparisons.png */

#include "common.h"
#include "player.h"
#include "vectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS_SHOWN = 6, SERIES_POINTS = 800, BINS = 50, SHUFFLES_WORK = 200000000 };

static const char *const join_names[] = { "row", "time", NULL };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static ex_world world = { .mode = RLLB_ENV_SEED0 };
static int32_t policy = RLLB_POLICY_LEAST_LOAD, traffic = RLLB_ENV_HIGH, rows = 100, by_time;
static int32_t sample = 500, permutations = 999, baseline_rows = 500;
static double reference_full, simulated_full;
static uint64_t seed = 1;
static bool quiet;
static const char *reference_files, *columns, *simulated_files, *simulated_columns, *model_path;
static const char *out = "out/similarity";

static ex_option options[] = {
    EX_HEADING("Recorded"),
    EX_STRING("reference", &reference_files, "FILE,...", "trace of loads, a column a server; several: side by side"),
    EX_STRING("columns", &columns, "NAME,...", "its columns, by name or number; else all that can be loads"),
    EX_CHOICE("join", &by_time, join_names, "several files: n-th row to n-th row, or where their times are the same"),
    EX_DOUBLE("reference-full", &reference_full, 0, 1e300, "X",
              "full load in it; 0: 1, 100 or the greatest, what fits"),
    EX_HEADING("Simulated: a file, a trained model or a classical policy"),
    EX_STRING("simulated", &simulated_files, "FILE,...", "loads from elsewhere, as many columns"),
    EX_STRING("simulated-columns", &simulated_columns, "NAME,...", "its columns"),
    EX_DOUBLE("simulated-full", &simulated_full, 0, 1e300, "X", "full load in it, as above"),
    EX_STRING("model", &model_path, "FILE", "model.safetensors of train"),
    EX_CHOICE("policy", &policy, ex_policy_names, "when there is neither file nor model"),
    EX_INT("rows", &rows, 1, 10000000, "N", "steps that a model or policy plays"),
    EX_HEADING("World of the model, the policy and the baselines"),
    EX_CHOICE("env", &world.mode, ex_mode_names, "whose rates: equal ones, or slow and fast servers"),
    EX_CHOICE("traffic", &traffic, ex_traffic_names, "what arrives"),
    EX_STRING("trace", &world.trace_path, "FILE", "recorded requests for --traffic trace, two columns time and work"),
    EX_LIST("rates", &world.rates, 1e-6, 1, "X,X,...", "work each server does in a step; else by --env"),
    EX_HEADING("Comparison"),
    EX_INT("baseline-rows", &baseline_rows, 1, 10000000, "N", "most vectors of a baseline"),
    EX_INT("sample", &sample, 2, 5000, "N", "most vectors of a side in the two-sample test"),
    EX_INT("permutations", &permutations, 19, 1000000, "N", "relabellings for a p-value"),
    EX_SEED("seed", &seed, "of noise, samples and permutations, and of the world"),
    EX_HEADING("Common"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress"),
};

static const char details[] =
    "The run of a model or policy goes on past overloads, as the published one does.\n"
    "\n"
    "    similarity --reference loads.csv --simulated simulation_log.csv\n"
    "    similarity --reference google_cpu.csv --policy round_robin --traffic low --rows 1000\n"
    "    similarity --reference ec2_a.csv,ec2_b.csv,ec2_c.csv --columns value --model out/train/model.safetensors\n"
    "\n"
    "Writes results.json, similarity.csv, comparisons.csv and three pictures.\n";

static ex_program program = { .name = "similarity", .summary = "compares simulated load vectors with a recorded trace",
                              .details = details, .options = options, .option_count = EX_COUNT(options) };

/* ---- what is compared -------------------------------------------------------------------------------------- */

/* As published, for the three-server files of the original. */
static const struct {
    const char *name, *key;
    double value;
} published[4] = { { "mean", "mean", 90.21 },
                   { "standard deviation", "sd", 5.42 },
                   { "least", "min", 76.60 },
                   { "greatest", "max", 98.45 } };

enum { SIMULATED, ITSELF, CONSTANT, NOISE, ROUND_ROBIN, LEAST_LOAD, CANDIDATES };

static const char *const candidate_keys[CANDIDATES] = { "simulated", "reference_itself", "constant", "uniform_noise",
                                                        "round_robin", "least_load" };

typedef struct candidate {
    char name[96];
    bool there;
    ex_vectors v;
    int32_t *but_not;             /* ITSELF: the row each one is */
    double *similarity, *aligned; /* [v.count], [aligned_count] */
    int32_t *row;                 /* nearest */
    int32_t aligned_count;
    rllb_stats nearest, in_time;
    ex_energy energy;
} candidate;

typedef struct comparison {
    ex_vectors reference;
    candidate of[CANDIDATES];
    ex_player player;
    bool plays, is_published;
    double shuffled_mean, shuffled_p; /* of the aligned similarity, had the rows come in another order */
    int32_t shuffles;
    char words[8][512];
    int32_t word_count;
    double seconds;
} comparison;

static double percent(double distance, int32_t size)
{
    return 100 * (1 - distance / sqrt((double)size));
}

/* The rates of --env for any number of servers: those of rllb_env_cluster_desc. */
static void rates_for(int32_t servers)
{
    int32_t i;

    if (world.rates.count > 0 || servers > EX_LIST_MAX) return;
    world.rates.count = servers;
    for (i = 0; i < servers; i++) {
        double at = servers > 1 ? 0.5 + (double)i / (servers - 1) : 1;
        world.rates.values[i] = 0.3 / servers * (world.mode == RLLB_ENV_HONEST ? at : 1);
    }
}

/* One long episode; loads as they stand at the end of each step. Honest in so far as it goes on after an overload. */
static bool play(ex_player *p, int32_t count, ex_vectors *to)
{
    rllb_env_cluster_desc d = ex_world_desc(&world, (rllb_env_traffic)traffic);
    rllb_env_cluster *env;
    float reward;
    uint8_t terminated, truncated;
    int32_t i, j;
    bool ok;

    d.mode = RLLB_ENV_HONEST;
    d.horizon = count;
    d.seed = seed;
    d.stream = EX_STREAM_JUDGE;
    env = rllb_env_cluster_create(&d);
    if (!env || !ex_vectors_make(to, count, world.servers)) {
        rllb_env_cluster_destroy(env);
        ex_fail("out of memory for %d steps of %d servers", (int)count, (int)world.servers);
        return false;
    }
    ok = ex_player_open(p, &world, env, seed);
    for (i = 0; i < count && ok; i++) {
        int32_t action = ex_player_choose(p, env);
        const float *load;
        ok = rllb_env_cluster_step(env, &action, &reward, &terminated, &truncated) >= 0;
        load = rllb_env_cluster_observe_next(env);
        for (j = 0; j < world.servers; j++) to->values[(size_t)i * (size_t)to->size + (size_t)j] = (double)load[j];
    }
    rllb_env_cluster_destroy(env);
    return ok;
}

static bool read_reference(comparison *c)
{
    ex_vectors_desc d = { reference_files, columns, by_time != 0, reference_full };

    if (!ex_vectors_read(&d, &c->reference)) return false;
    if (c->reference.count > 1) return true;
    ex_fail("%.200s: one row is no trace", reference_files);
    return false;
}

static bool read_simulated(comparison *c)
{
    ex_vectors_desc d = { simulated_files, simulated_columns, by_time != 0, simulated_full };
    candidate *s = &c->of[SIMULATED];
    const char *slash = strrchr(simulated_files, '/');

    if (!ex_vectors_read(&d, &s->v)) return false;
    snprintf(s->name, sizeof s->name, "%.80s", slash ? slash + 1 : simulated_files);
    if (s->v.size == c->reference.size) return true;
    ex_fail("%.200s has %d servers, and %.200s has %d; --columns and --simulated-columns choose", simulated_files,
            (int)s->v.size, reference_files, (int)c->reference.size);
    return false;
}

static bool open_world(comparison *c)
{
    bool needed = !simulated_files;

    if (model_path) {
        if (!ex_player_model(&c->player, model_path)) return false;
        if (!ex_player_world(&c->player, &world, ex_option_given(&program, "env"),
                             ex_option_given(&program, "rates"))) {
            return false;
        }
    } else {
        ex_player_classical(&c->player, (rllb_policy_kind)policy);
    }
    rates_for(c->reference.size);
    if (world.rates.count == c->reference.size && world.rates.count > 1) {
        c->plays = true;
        return ex_world_open(&world);
    }
    if (world.rates.count == 0 && !needed) return true; /* more servers than a world can be given: no such baselines */
    if (world.rates.count < 2) ex_fail("%.200s: a balancer needs 2 to %d servers", reference_files, EX_LIST_MAX);
    else {
        ex_fail("%.200s has %d servers, and %.200s has %d; --columns chooses", model_path ? model_path : "--rates",
                (int)world.rates.count, reference_files, (int)c->reference.size);
    }
    return false;
}

static bool make_baselines(comparison *c)
{
    const ex_vectors *r = &c->reference;
    int32_t simulated = c->of[SIMULATED].v.count, count = simulated < baseline_rows ? simulated : baseline_rows, i, j;
    int32_t own = r->count < baseline_rows ? r->count : baseline_rows;
    ex_vectors *noise = &c->of[NOISE].v, *constant = &c->of[CONSTANT].v;
    candidate *itself = &c->of[ITSELF];
    ex_player classic;
    rllb_rng rng;

    itself->but_not = calloc((size_t)own, sizeof *itself->but_not);
    if (!itself->but_not || !ex_vectors_sample(r, own, seed + 2, &itself->v, itself->but_not) ||
        !ex_vectors_make(noise, count, r->size) || !ex_vectors_make(constant, count, r->size)) {
        ex_fail("out of memory for the baselines");
        return false;
    }
    snprintf(itself->name, sizeof itself->name, "the reference itself, its own row left out");
    snprintf(c->of[NOISE].name, sizeof itself->name, "uniform noise");
    snprintf(c->of[CONSTANT].name, sizeof itself->name, "one constant vector: the mean");
    rllb_rng_init(&rng, seed, 3);
    for (i = 0; i < count * r->size; i++) noise->values[i] = rllb_rng_double(&rng);
    for (j = 0; j < r->size; j++) {
        double sum = 0;
        for (i = 0; i < r->count; i++) sum += ex_vectors_row(r, i)[j];
        for (i = 0; i < count; i++) constant->values[(size_t)i * (size_t)r->size + (size_t)j] = sum / r->count;
    }
    for (i = 0; i < CANDIDATES; i++) c->of[i].there = true;
    c->of[ROUND_ROBIN].there = c->of[LEAST_LOAD].there = c->plays;
    if (!c->plays) return true;
    for (i = ROUND_ROBIN; i <= LEAST_LOAD; i++) {
        bool ok;
        ex_player_classical(&classic, i == ROUND_ROBIN ? RLLB_POLICY_ROUND_ROBIN : RLLB_POLICY_LEAST_LOAD);
        snprintf(c->of[i].name, sizeof itself->name, "%s, %s traffic", i == ROUND_ROBIN ? "round robin" : "least load",
                 ex_traffic_names[traffic]);
        ok = play(&classic, count, &c->of[i].v);
        ex_player_close(&classic);
        if (!ok) return false;
    }
    return true;
}

/* ---- comparing --------------------------------------------------------------------------------------------- */

/* All candidates in one search: the tree of the reference is made once. */
static bool find_nearest(comparison *c)
{
    int32_t total = 0, k, i, at = 0, size = c->reference.size;
    ex_vectors all;
    double *distance;
    int32_t *row, *but_not;
    bool ok;

    for (k = 0; k < CANDIDATES; k++) total += c->of[k].v.count;
    ok = ex_vectors_make(&all, total, size);
    distance = calloc((size_t)total, sizeof *distance);
    row = calloc((size_t)total, sizeof *row);
    but_not = calloc((size_t)total, sizeof *but_not);
    ok = ok && distance && row && but_not;
    for (k = 0; k < CANDIDATES && ok; k++) {
        candidate *d = &c->of[k];
        memcpy(all.values + (size_t)at * (size_t)size, d->v.values, (size_t)d->v.count * (size_t)size * sizeof(double));
        for (i = 0; i < d->v.count; i++) but_not[at + i] = d->but_not ? d->but_not[i] : -1;
        at += d->v.count;
    }
    ok = ok && ex_vectors_nearest(&all, &c->reference, but_not, distance, row);
    for (k = at = 0; k < CANDIDATES && ok; k++) {
        candidate *d = &c->of[k];
        d->similarity = calloc((size_t)d->v.count + 1, sizeof *d->similarity);
        d->row = calloc((size_t)d->v.count + 1, sizeof *d->row);
        ok = d->similarity && d->row;
        for (i = 0; i < d->v.count && ok; i++) {
            d->similarity[i] = percent(distance[at + i], size);
            d->row[i] = row[at + i];
            rllb_stats_add(&d->nearest, d->similarity[i]);
        }
        at += d->v.count;
    }
    ex_vectors_free(&all);
    free(distance);
    free(row);
    free(but_not);
    if (!ok) ex_fail("out of memory for %d distances", (int)total);
    return ok;
}

/* Row i against row i, as far as both go. */
static bool align(comparison *c, candidate *d)
{
    int32_t i, count = d->v.count < c->reference.count ? d->v.count : c->reference.count;

    d->aligned = calloc((size_t)count + 1, sizeof *d->aligned);
    if (!d->aligned) {
        ex_fail("out of memory for %d rows", (int)count);
        return false;
    }
    d->aligned_count = count;
    for (i = 0; i < count; i++) {
        d->aligned[i] = percent(
            ex_vectors_distance(ex_vectors_row(&d->v, i), ex_vectors_row(&c->reference, i), d->v.size), d->v.size);
        rllb_stats_add(&d->in_time, d->aligned[i]);
    }
    return true;
}

/* Does the order of the rows matter? The same rows in random orders, how often at least as similar. */
static bool shuffle(comparison *c)
{
    const candidate *d = &c->of[SIMULATED];
    int32_t count = d->aligned_count, size = d->v.size, k, i, as_great = 1;
    int32_t *order = calloc((size_t)count, sizeof *order);
    double all = 0;
    rllb_rng rng;

    if (!order) {
        ex_fail("out of memory for %d rows", (int)count);
        return false;
    }
    c->shuffles = (int32_t)fmin(permutations, fmax(19, SHUFFLES_WORK / ((double)count * size)));
    rllb_rng_init(&rng, seed, 4);
    for (i = 0; i < count; i++) order[i] = i;
    for (k = 0; k < c->shuffles; k++) {
        double sum = 0;
        for (i = 0; i < count; i++) {
            int32_t other = i + rllb_rng_below(&rng, count - i), swap = order[i];
            order[i] = order[other];
            order[other] = swap;
            sum += ex_vectors_distance(ex_vectors_row(&d->v, order[i]), ex_vectors_row(&c->reference, i), size);
        }
        all += sum / count;
        as_great += percent(sum / count, size) >= d->in_time.mean - 1e-9;
    }
    c->shuffled_mean = percent(all / c->shuffles, size);
    c->shuffled_p = (double)as_great / (c->shuffles + 1);
    free(order);
    return true;
}

/* The reference against itself: a random half against the other. */
static bool test_halves(comparison *c, ex_energy *to)
{
    const ex_vectors *r = &c->reference;
    ex_vectors a = { 0 }, b = { 0 };
    int32_t half = r->count / 2, i, at = 0, taken = 0;
    int32_t *which = calloc((size_t)half, sizeof *which);
    bool ok = which && ex_vectors_sample(r, half, seed + 5, &a, which) && ex_vectors_make(&b, r->count - half, r->size);

    for (i = 0; i < r->count && ok; i++) {
        if (taken < half && which[taken] == i) {
            taken++;
            continue;
        }
        memcpy(b.values + (size_t)at++ * (size_t)r->size, ex_vectors_row(r, i), (size_t)r->size * sizeof(double));
    }
    ok = ok && ex_energy_test(&a, &b, sample, permutations, seed, to);
    ex_vectors_free(&a);
    ex_vectors_free(&b);
    free(which);
    return ok;
}

static int compare(comparison *c)
{
    double begin_s = ex_clock_s();
    ex_progress bar;
    int32_t k;
    bool ok = true;

    ex_progress_start(&bar, "comparing", CANDIDATES + 2, quiet);
    ex_progress_step(&bar, 0, "nearest rows");
    if (!find_nearest(c)) return EX_FAILED;
    for (k = 0; k < CANDIDATES && ok && !ex_interrupted(); k++) {
        if (!c->of[k].there) continue;
        ex_progress_step(&bar, 1 + k, "two-sample test: %s", c->of[k].name);
        if (k != ITSELF && !align(c, &c->of[k])) return EX_FAILED;
        ok = k == ITSELF ? test_halves(c, &c->of[k].energy)
                         : ex_energy_test(&c->of[k].v, &c->reference, sample, permutations, seed, &c->of[k].energy);
        if (!ok) ex_fail("out of memory for the two-sample test; --sample makes it smaller");
    }
    if (ok && !ex_interrupted()) ok = shuffle(c);
    c->seconds = ex_clock_s() - begin_s;
    ex_progress_end(&bar, NULL);
    if (ok && ex_interrupted()) {
        ex_warn("interrupted before the comparison was complete; nothing is written");
        return ex_interrupt_status();
    }
    return ok ? EX_OK : EX_FAILED;
}

/* ---- words ------------------------------------------------------------------------------------------------- */

#define SAY(c, ...) snprintf((c)->words[(c)->word_count++], sizeof (c)->words[0], __VA_ARGS__)

static void find_words(comparison *c)
{
    static const char *const short_names[CANDIDATES] = { "", "", "a constant vector", "uniform noise", "round robin",
                                                         "least load" };
    const candidate *s = &c->of[SIMULATED], *self = &c->of[ITSELF];
    double mean = s->nearest.mean, low = 101;
    char above[160] = "";
    int32_t k, beaten_by = 0, of = 0;
    size_t used = 0;
    bool apart = s->energy.p <= 0.05;

    for (k = CONSTANT; k < CANDIDATES; k++) {
        double m = c->of[k].nearest.mean;
        if (!c->of[k].there) continue;
        of++;
        if (m < low) low = m;
        if (m < mean) continue;
        used += (size_t)snprintf(above + used, sizeof above - used, "%s%s with %.2f", beaten_by ? ", " : "",
                                 short_names[k], m);
        beaten_by++;
    }
    if (beaten_by) {
        SAY(c,
            "A nearest-row similarity of %.2f is not much: %d of the %d baselines, which know nothing of the trace but "
            "its mean or nothing at all, score at least as high (%s).",
            mean, (int)beaten_by, (int)of, above);
    } else {
        SAY(c, "A nearest-row similarity of %.2f is more than any of the %d baselines has.", mean, (int)of);
    }
    if (c->of[CONSTANT].nearest.mean >= self->nearest.mean) {
        SAY(c,
            "The constant vector scores %.2f where the trace against itself scores %.2f: the figure rewards standing "
            "in the middle, not behaving alike.",
            c->of[CONSTANT].nearest.mean, self->nearest.mean);
    }
    SAY(c,
        "The scale is short: the lowest baseline has %.2f, the trace against itself %.2f. Between these two, not "
        "between 0 and 100, is the place of %.2f.",
        low, self->nearest.mean, mean);
    SAY(c,
        "The two-sample test %s: energy coefficient %.3f (0 the same distribution, 1 nothing in common; two halves of "
        "the trace have %.3f), p = %.2g.%s",
        apart ? "tells the simulated loads from the recorded ones"
              : "cannot tell the simulated loads from the recorded ones with so many rows",
        s->energy.coefficient, self->energy.coefficient, s->energy.p,
        apart ? " Whatever the similarity says, these are not the same loads." : "");
    SAY(c,
        "Row by row, in time, the similarity is %.2f; with the simulated rows in random order it is %.2f (p = %.2g), "
        "so the simulation %s.",
        s->in_time.mean, c->shuffled_mean, c->shuffled_p,
        c->shuffled_p <= 0.05 ? "follows the course of the trace to some degree"
                              : "does not follow the course of the trace");
    SAY(c,
        "Rows of a series depend on each other, which makes both p-values smaller than they should be; the coefficient "
        "does not suffer from that.");
    if (c->is_published) {
        SAY(c,
            "Published for these files were 90.21, 5.42, 76.60 and 98.45. The least and the greatest agree; mean and "
            "deviation as published come from another run or another state of the files.");
    }
}

/* The published files: least and greatest to the last digit that was printed. */
static bool looks_published(const comparison *c)
{
    const candidate *s = &c->of[SIMULATED];

    return c->reference.size == 3 && c->reference.count == 100 && s->v.count == 100 && simulated_files &&
           fabs(s->nearest.least - published[2].value) < 0.005 &&
           fabs(s->nearest.greatest - published[3].value) < 0.005;
}

static double figure(const rllb_stats *s, int32_t i)
{
    return i == 0 ? s->mean : i == 1 ? rllb_stats_stddev(s) : i == 2 ? s->least : s->greatest;
}

static void print_servers(const char *what, const ex_vectors *v)
{
    int32_t i;

    printf("%s: %d rows of %d servers", what, (int)v->count, (int)v->size);
    for (i = 0; v->names && i < v->size && i < SERVERS_SHOWN; i++) printf("%s %s", i ? "," : ":", v->names[i]);
    printf("%s", v->names && v->size > SERVERS_SHOWN ? ", ..." : "");
    if (fabs(v->full - 1) > 1e-12) printf("; divided by %g", v->full);
    printf("\n");
}

static void print(const comparison *c)
{
    const candidate *s = &c->of[SIMULATED];
    ex_table table = { 0 };
    int32_t k, i;
    char text[sizeof c->words[0]];

    print_servers("recorded ", &c->reference);
    print_servers("simulated", &s->v);
    printf("\n");
    ex_table_cell(&table, "nearest-row similarity (%%)");
    ex_table_cell(&table, "here");
    if (c->reference.size == 3) ex_table_cell(&table, c->is_published ? "published" : "published for other files");
    ex_table_row(&table);
    for (i = 0; i < 4; i++) {
        ex_table_cell(&table, "%s", published[i].name);
        ex_table_cell(&table, "%.4f", figure(&s->nearest, i));
        if (c->reference.size == 3) ex_table_cell(&table, "%.2f", published[i].value);
        ex_table_row(&table);
    }
    ex_table_print(&table, stdout);
    ex_table_free(&table);
    printf("\n");
    ex_table_cell(&table, "against the recorded loads");
    ex_table_cell(&table, "rows");
    ex_table_cell(&table, "nearest %%");
    ex_table_cell(&table, "sd");
    ex_table_cell(&table, "row by row %%");
    ex_table_cell(&table, "energy coefficient");
    ex_table_cell(&table, "p");
    ex_table_row(&table);
    for (k = 0; k < CANDIDATES; k++) {
        const candidate *d = &c->of[k];
        if (!d->there) continue;
        ex_table_cell(&table, "%s%s", k == SIMULATED ? "* " : "  ", d->name);
        ex_table_cell(&table, "%d", (int)d->v.count);
        ex_table_cell(&table, "%.2f", d->nearest.mean);
        ex_table_cell(&table, "%.2f", rllb_stats_stddev(&d->nearest));
        if (k == ITSELF) ex_table_cell(&table, "-");
        else ex_table_cell(&table, "%.2f", d->in_time.mean);
        ex_table_cell(&table, "%.4f", d->energy.coefficient);
        ex_table_cell(&table, "%.4f", d->energy.p);
        ex_table_row(&table);
    }
    ex_table_print(&table, stdout);
    ex_table_free(&table);
    printf(
        "\nEnergy coefficient and p from at most %d rows a side and %d permutations; the reference itself: two random "
        "halves.\n\n",
        (int)sample, (int)permutations);
    for (i = 0; i < c->word_count; i++) {
        snprintf(text, sizeof text, "%s", c->words[i]);
        for (k = 0; text[k]; k++) { /* lines of at most 110 letters */
            int32_t blank = k;
            while (text[blank] && blank - k < 110) blank++;
            if (!text[blank]) break;
            while (blank > k && text[blank] != ' ') blank--;
            if (blank == k) break;
            text[blank] = '\n';
            k = blank;
        }
        printf("%s\n", text);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static void json_vectors(ex_json *j, const char *key, const char *files, const ex_vectors *v)
{
    int32_t i;

    ex_json_object(j, key);
    ex_json_string(j, "files", files);
    ex_json_int(j, "rows", v->count);
    ex_json_int(j, "servers", v->size);
    ex_json_double(j, "full", v->full);
    if (v->names) {
        ex_json_row_array(j, "columns");
        for (i = 0; i < v->size; i++) ex_json_string(j, NULL, v->names[i]);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static bool write_json(const comparison *c)
{
    const candidate *s = &c->of[SIMULATED];
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t k, i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "similarity");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    ex_json_object(&j, "settings");
    json_vectors(&j, "reference", reference_files, &c->reference);
    json_vectors(&j, "simulated", simulated_files, &s->v);
    ex_json_string(&j, "model", model_path);
    ex_json_string(&j, "policy", simulated_files || model_path ? NULL : ex_policy_names[policy]);
    ex_json_string(&j, "join", join_names[by_time]);
    ex_json_string(&j, "env", ex_mode_names[world.mode]);
    ex_json_string(&j, "traffic", ex_traffic_names[traffic]);
    ex_json_int(&j, "sample", sample);
    ex_json_int(&j, "permutations", permutations);
    ex_json_int(&j, "baseline_rows", baseline_rows);
    ex_json_end(&j);
    ex_json_double(&j, "seconds", c->seconds);
    ex_json_object(&j, "similarity");
    for (i = 0; i < 4; i++) ex_json_double(&j, published[i].key, figure(&s->nearest, i));
    ex_json_end(&j);
    if (c->is_published) {
        ex_json_object(&j, "published");
        for (i = 0; i < 4; i++) ex_json_double(&j, published[i].key, published[i].value);
        ex_json_end(&j);
    }
    ex_json_object(&j, "aligned");
    ex_json_int(&j, "rows", s->aligned_count);
    for (i = 0; i < 4; i++) ex_json_double(&j, published[i].key, figure(&s->in_time, i));
    ex_json_double(&j, "shuffled_mean", c->shuffled_mean);
    ex_json_double(&j, "shuffled_p", c->shuffled_p);
    ex_json_int(&j, "shuffles", c->shuffles);
    ex_json_end(&j);
    ex_json_array(&j, "results");
    for (k = 0; k < CANDIDATES; k++) {
        const candidate *d = &c->of[k];
        if (!d->there) continue;
        ex_json_row(&j, NULL);
        ex_json_string(&j, "candidate", candidate_keys[k]);
        ex_json_string(&j, "name", d->name);
        ex_json_int(&j, "rows", d->v.count);
        for (i = 0; i < 4; i++) ex_json_double(&j, published[i].key, figure(&d->nearest, i));
        ex_json_double(&j, "aligned_mean", k == ITSELF ? (double)NAN : d->in_time.mean);
        ex_json_double(&j, "energy_distance", d->energy.distance);
        ex_json_double(&j, "energy_coefficient", d->energy.coefficient);
        ex_json_double(&j, "energy_p", d->energy.p);
        ex_json_int(&j, "sampled", d->energy.a_used);
        ex_json_int(&j, "reference_sampled", d->energy.b_used);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_array(&j, "words");
    for (i = 0; i < c->word_count; i++) ex_json_string(&j, NULL, c->words[i]);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

static bool write_csv(const comparison *c)
{
    const candidate *s = &c->of[SIMULATED];
    ex_text text = { 0 }, table = { 0 };
    ex_csv csv = { .to = &text }, other = { .to = &table };
    int32_t i, k;
    bool ok;

    ex_csv_header(&csv, "row,nearest_row,distance,similarity,aligned_similarity"); /* rows from 1, below the header */
    for (i = 0; i < s->v.count; i++) {
        ex_csv_int(&csv, i + 1);
        ex_csv_int(&csv, s->row[i] + 1);
        ex_csv_double(
            &csv, ex_vectors_distance(ex_vectors_row(&s->v, i), ex_vectors_row(&c->reference, s->row[i]), s->v.size));
        ex_csv_double(&csv, s->similarity[i]);
        if (i < s->aligned_count) ex_csv_double(&csv, s->aligned[i]);
        else ex_csv_string(&csv, "");
        ex_csv_row(&csv);
    }
    ex_csv_header(&other, "candidate,rows,mean,sd,min,max,aligned_mean,energy_distance,energy_coefficient,energy_p");
    for (k = 0; k < CANDIDATES; k++) {
        const candidate *d = &c->of[k];
        if (!d->there) continue;
        ex_csv_string(&other, candidate_keys[k]);
        ex_csv_int(&other, d->v.count);
        for (i = 0; i < 4; i++) ex_csv_double(&other, figure(&d->nearest, i));
        if (k == ITSELF) ex_csv_string(&other, "");
        else ex_csv_double(&other, d->in_time.mean);
        ex_csv_double(&other, d->energy.distance);
        ex_csv_double(&other, d->energy.coefficient);
        ex_csv_double(&other, d->energy.p);
        ex_csv_row(&other);
    }
    ok = ex_text_write(&text, ex_path_join(out, "similarity.csv").text) &&
         ex_text_write(&table, ex_path_join(out, "comparisons.csv").text);
    ex_text_free(&text);
    ex_text_free(&table);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* A histogram as a line of steps: two points to a bin, and the ends on the ground. */
typedef struct steps {
    double x[2 * BINS + 2], y[2 * BINS + 2], ground[2 * BINS + 2];
} steps;

static void steps_of(const candidate *d, double low, double high, steps *s)
{
    double width = (high - low) / BINS;
    int32_t i, bin;

    memset(s, 0, sizeof *s);
    for (i = 0; i < BINS; i++) {
        s->x[2 * i + 1] = low + i * width;
        s->x[2 * i + 2] = low + (i + 1) * width;
    }
    s->x[0] = low;
    s->x[2 * BINS + 1] = high;
    for (i = 0; i < d->v.count; i++) {
        bin = (int32_t)fmin(fmax((d->similarity[i] - low) / width, 0), BINS - 1);
        s->y[2 * bin + 1] += 100.0 / d->v.count;
        s->y[2 * bin + 2] = s->y[2 * bin + 1];
    }
}

static bool draw_histogram(const comparison *c)
{
    static const int32_t shown[] = { SIMULATED, ITSELF, NOISE, ROUND_ROBIN, LEAST_LOAD };
    static const ex_dash dash[] = { EX_SOLID, EX_SOLID, EX_DOTTED, EX_DASHED, EX_DASH_DOT };
    static const int32_t color[] = { 0, 2, 7, 4, 3 };
    static steps data[5];
    ex_series series[5];
    ex_line_chart chart = { 0 };
    char subtitle[400], note[300], names[5][160];
    double low = 100;
    int32_t k, count = 0;

    memset(series, 0, sizeof series);
    for (k = 0; k < 5; k++) {
        if (c->of[shown[k]].there) low = fmin(low, c->of[shown[k]].nearest.least);
    }
    low = fmin(98, floor(low / 2) * 2);
    for (k = 0; k < 5; k++) {
        const candidate *d = &c->of[shown[k]];
        if (!d->there) continue;
        steps_of(d, low, 100, &data[k]);
        snprintf(names[k], sizeof names[k], "%s, mean %.2f",
                 shown[k] == ITSELF ? "recorded, own row left out" : d->name, d->nearest.mean);
        series[count].name = names[k];
        series[count].x = data[k].x;
        series[count].y = data[k].y;
        series[count].count = 2 * BINS + 2;
        series[count].color = ex_palette(color[k]);
        series[count].dash = dash[k];
        series[count].width = k == 0 ? 2.75 : 2;
        if (k == 0) {
            series[count].low = data[k].ground;
            series[count].high = data[k].y;
        }
        count++;
    }
    snprintf(subtitle, sizeof subtitle, "Every vector's similarity to the nearest of the %d recorded rows (%d servers)",
             (int)c->reference.count, (int)c->reference.size);
    snprintf(note, sizeof note,
             "Not drawn: the constant vector, all of it at %.2f %%. similarity = 100 (1 - d / sqrt(n)), "
             "d the Euclidean distance.",
             c->of[CONSTANT].nearest.mean);
    chart.title = "How similar the simulated loads are, and what else is";
    chart.subtitle = subtitle;
    chart.note = note;
    chart.x.label = "similarity to the nearest recorded row (%)";
    chart.x.low = low;
    chart.x.high = 100;
    chart.y.label = "share of the vectors (%)";
    chart.y.from_zero = true;
    chart.series = series;
    chart.series_count = count;
    return ex_line_chart_write(&chart, 0, 0, ex_path_join(out, "similarity_histogram.png").text);
}

/* A series short enough to draw: means of neighbours, and between what they lie. */
typedef struct course {
    double *x, *mean, *low, *high;
    int32_t count;
} course;

static void course_free(course *s)
{
    free(s->x);
    free(s->mean);
    free(s->low);
    free(s->high);
}

/* Of each row: values[i * size ...] (size 1: a plain series). Band: least and greatest. */
static bool course_of(const double *values, int32_t count, int32_t size, course *s)
{
    int32_t points = count < SERIES_POINTS ? count : SERIES_POINTS, k, i;

    s->count = points;
    s->x = calloc((size_t)points + 1, sizeof(double));
    s->mean = calloc((size_t)points + 1, sizeof(double));
    s->low = calloc((size_t)points + 1, sizeof(double));
    s->high = calloc((size_t)points + 1, sizeof(double));
    if (!s->x || !s->mean || !s->low || !s->high) return false;
    for (k = 0; k < points; k++) {
        int64_t from = (int64_t)k * count / points * size, to = (int64_t)(k + 1) * count / points * size, at;
        s->low[k] = s->high[k] = values[from];
        for (at = from; at < to; at++) {
            s->mean[k] += values[at] / (double)(to - from);
            s->low[k] = fmin(s->low[k], values[at]);
            s->high[k] = fmax(s->high[k], values[at]);
        }
        i = (int32_t)(from / size);
        s->x[k] = i + 1;
    }
    return true;
}

static void series_of(ex_series *s, const course *from, const char *name, int32_t color, bool band)
{
    s->name = name;
    s->x = from->x;
    s->y = from->mean;
    s->low = band ? from->low : NULL;
    s->high = band ? from->high : NULL;
    s->count = from->count;
    s->color = ex_palette(color);
}

static bool draw_series(const comparison *c)
{
    const candidate *s = &c->of[SIMULATED];
    course near = { 0 }, aligned = { 0 }, recorded = { 0 }, simulated = { 0 };
    ex_series top[2], bottom[2];
    ex_reference constant;
    ex_line_chart charts[2];
    ex_panel panels[2];
    ex_figure figure_ = { 0 };
    char note[300], subtitle[200], label[40];
    int32_t count = s->v.count < c->reference.count ? s->v.count : c->reference.count, longest = count;
    bool ok;

    memset(top, 0, sizeof top);
    memset(bottom, 0, sizeof bottom);
    memset(charts, 0, sizeof charts);
    memset(panels, 0, sizeof panels);
    memset(&constant, 0, sizeof constant);
    ok = course_of(s->similarity, s->v.count, 1, &near) && course_of(s->aligned, count, 1, &aligned) &&
         course_of(c->reference.values, count, c->reference.size, &recorded) &&
         course_of(s->v.values, count, s->v.size, &simulated);
    if (!ok) ex_fail("out of memory for the pictures");
    series_of(&top[0], &near, "to the nearest recorded row", 0, near.count < s->v.count);
    series_of(&top[1], &aligned, "to the recorded row of the same place", 1, aligned.count < count);
    series_of(&bottom[0], &recorded, "recorded", 2, true);
    series_of(&bottom[1], &simulated, "simulated", 0, true);
    snprintf(label, sizeof label, "constant vector: %.1f", c->of[CONSTANT].nearest.mean);
    constant.label = label;
    constant.y = c->of[CONSTANT].nearest.mean;
    if (s->v.count > longest) longest = s->v.count;
    charts[0].title = "Similarity";
    charts[0].x.label = "simulated row (step)";
    charts[0].y.label = "similarity (%)";
    charts[0].series = top;
    charts[0].references = &constant;
    charts[0].reference_count = 1;
    charts[1].title = "Loads: mean of the servers, and from the least to the most loaded one";
    charts[1].x.label = "row (step)";
    charts[1].y.label = "load (share of full)";
    charts[1].y.from_zero = true;
    charts[1].series = bottom;
    charts[0].series_count = charts[1].series_count = 2;
    panels[0].line = &charts[0];
    panels[1].line = &charts[1];
    snprintf(subtitle, sizeof subtitle, "%s against %d recorded rows of %d servers", s->name, (int)c->reference.count,
             (int)c->reference.size);
    snprintf(note, sizeof note, "%s%s",
             longest > SERIES_POINTS ? "Each point stands for several rows: their mean, the band from "
                                       "the least to the greatest. "
                                     : "",
             s->v.count != c->reference.count ? "Row by row as far as both go." : "");
    figure_.title = "Simulated and recorded loads, row by row";
    figure_.subtitle = subtitle;
    figure_.note = note;
    figure_.panels = panels;
    figure_.panel_count = 2;
    figure_.columns = 1;
    ok = ok && ex_figure_write(&figure_, 1200, 1000, ex_path_join(out, "similarity_series.png").text);
    course_free(&near);
    course_free(&aligned);
    course_free(&recorded);
    course_free(&simulated);
    return ok;
}

static bool draw_comparisons(const comparison *c)
{
    static const char *const labels[CANDIDATES] = { "simulated", "recorded itself", "constant vector", "uniform noise",
                                                    "round robin", "least load" };
    double values[2][CANDIDATES], errors[CANDIDATES];
    const char *categories[CANDIDATES];
    ex_color colors[CANDIDATES];
    ex_bar_chart bars[2];
    ex_panel panels[2];
    ex_figure figure_ = { 0 };
    char subtitle[200];
    int32_t k, count = 0;

    memset(bars, 0, sizeof bars);
    memset(panels, 0, sizeof panels);
    for (k = 0; k < CANDIDATES; k++) {
        const candidate *d = &c->of[k];
        if (!d->there) continue;
        categories[count] = labels[k];
        values[0][count] = d->nearest.mean;
        values[1][count] = d->energy.coefficient;
        errors[count] = rllb_stats_stddev(&d->nearest);
        colors[count++] = k == SIMULATED ? ex_palette(1) : k == ITSELF ? ex_palette(2) : EX_RGB(0x8FA3B5u);
    }
    for (k = 0; k < 2; k++) {
        bars[k].title = k ? "Energy coefficient: lower is more alike" : "Published statistic: higher is more alike";
        bars[k].y.label = k ? "energy coefficient (0 equal, 1 disjoint)" : "mean similarity (%), \302\261 one sd";
        bars[k].categories = categories;
        bars[k].category_count = count;
        bars[k].values = values[k];
        bars[k].errors = k ? NULL : errors;
        bars[k].category_colors = colors;
        bars[k].value_format = k ? "%.3f" : "%.1f";
        panels[k].bar = &bars[k];
    }
    snprintf(subtitle, sizeof subtitle, "%s against %d recorded rows of %d servers", c->of[SIMULATED].name,
             (int)c->reference.count, (int)c->reference.size);
    figure_.title = "What the similarity is worth";
    figure_.subtitle = subtitle;
    figure_.note = c->words[0];
    figure_.panels = panels;
    figure_.panel_count = figure_.columns = 2;
    return ex_figure_write(&figure_, 1440, 640, ex_path_join(out, "similarity_comparisons.png").text);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int check_options(void)
{
    if (!reference_files) return ex_usage("reference", "which trace? --help shows examples");
    if (simulated_files && model_path) return ex_usage("model", "not together with --simulated");
    if ((simulated_files || model_path) && ex_option_given(&program, "policy")) {
        return ex_usage("policy", "not together with --%s", model_path ? "model" : "simulated");
    }
    if (simulated_files && ex_option_given(&program, "rows")) return ex_usage("rows", "not together with --simulated");
    if (!simulated_files && simulated_columns) return ex_usage("simulated-columns", "has no use without --simulated");
    if (world.trace_path && !ex_option_given(&program, "traffic")) traffic = RLLB_ENV_TRACE;
    if ((traffic == RLLB_ENV_TRACE) != (world.trace_path != NULL)) {
        return ex_usage(world.trace_path ? "trace" : "traffic",
                        world.trace_path ? "has no use without --traffic trace" : "trace needs --trace FILE");
    }
    return EX_OK;
}

static void comparison_free(comparison *c)
{
    int32_t k;

    for (k = 0; k < CANDIDATES; k++) {
        ex_vectors_free(&c->of[k].v);
        free(c->of[k].but_not);
        free(c->of[k].similarity);
        free(c->of[k].aligned);
        free(c->of[k].row);
    }
    ex_vectors_free(&c->reference);
    ex_player_close(&c->player);
    ex_world_close(&world);
}

int main(int argc, char **argv)
{
    static comparison c;
    ex_lock lock;
    int status = ex_options_parse(&program, argc, argv);
    bool ok;

    if (status != EX_GO_ON) return status;
    status = check_options();
    if (status != EX_OK) return status;
    ex_catch_interrupts();
    ok = read_reference(&c) && (!simulated_files || read_simulated(&c)) && open_world(&c) && ex_folder_lock(out, &lock);
    if (!ok) {
        comparison_free(&c);
        return EX_FAILED;
    }
    if (!simulated_files) {
        snprintf(c.of[SIMULATED].name, sizeof c.of[SIMULATED].name, "%.60s, %s traffic", c.player.name,
                 ex_traffic_names[traffic]);
        ok = play(&c.player, rows, &c.of[SIMULATED].v);
    }
    status = ok && make_baselines(&c) ? compare(&c) : EX_FAILED;
    if (status == EX_OK) {
        c.is_published = looks_published(&c);
        find_words(&c);
        ok = write_json(&c) && write_csv(&c) && draw_histogram(&c) && draw_series(&c) && draw_comparisons(&c);
        if (ok) print(&c);
        else status = EX_FAILED;
    }
    ex_folder_unlock(&lock);
    comparison_free(&c);
    return status;
}
