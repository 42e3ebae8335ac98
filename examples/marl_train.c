/* marl_train.c - teaches balancers of the flow-level world to balance together

   Shows how a learner lives in that world (examples/common/marl.h): episodes, updates, checkpoints, and the policy that
   comes out, as a file that a balancer can be steered by.

   Build:   make build/marl_train
   Run:     build/marl_train --algo qmix --preset moderate --seeds 4      as CIKM'22 has it; some CPU minutes each
            build/marl_train --algo isac --reward mean --reward-of shared --net set
   Prints:  mean, P90 and P99 of job completion times of what was learnt, in worlds that training has not seen, beside
            those of the classics in the same worlds
   Writes:  curve.csv, curve.png (job completion time by episode), results.json, model-SEED.safetensors (for simulate
            and marl_eval) and checkpoint-SEED.safetensors (to go on from, with --resume)

   A run is its settings and its seed: neither how many go on at once nor an interruption changes a byte of any file. */

#include "marl.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- settings ------------------------------------------------------------------------------------------------ */

static ex_marl_settings asked, settings;
static int32_t algo, preset = RLLB_ENV_PRESET_MODERATE, seeds = 1, save_every = 5, judged = 2, jobs;
static bool resume, quiet;
static uint64_t seed = 1;
static const char *out = "out/marl_train";

enum { OWN_OPTIONS = 12, SEEDS_MOST = 1000 };

static ex_option options[OWN_OPTIONS + EX_MARL_OPTIONS] = {
    EX_HEADING("What"),
    EX_CHOICE("algo", &algo, ex_marl_algo_names, "what learns"),
    EX_CHOICE("preset", &preset, ex_preset_names, "the world"),
    EX_INT("seeds", &seeds, 1, SEEDS_MOST, "N", "runs"),
    EX_SEED("seed", &seed, "of the first of them; the others follow"),
    EX_HEADING("How it is run"),
    EX_INT("judge", &judged, 0, 1000, "N", "worlds to judge by, for each rate; 0: none"),
    EX_INT("save-every", &save_every, 1, 1000000, "N", "episodes between two checkpoints"),
    EX_INT("jobs", &jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),
    EX_FLAG("resume", &resume, "go on with the runs that --out holds, do those that are missing"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress, no tables"),
};

static const char details[] =
    "Defaults in brackets are those of qmix and moderate; others go by --algo and --preset: what the papers have,\n"
    "first of all Table 2 of CIKM'22. results.json names them all.\n"
    "\n"
    "Writes curve.csv, curve.png, results.json, model-SEED.safetensors, and checkpoint-SEED.safetensors (for\n"
    "--resume; also on Ctrl-C, when the episode is over).\n";

static ex_program program = { .name = "marl_train", .summary = "teaches balancers to balance together",
                              .details = details, .options = options };

static void run_settings(int32_t which, ex_marl_settings *s)
{
    *s = settings;
    s->seed = seed + (uint64_t)which;
}

static ex_path file_of(const char *kind, int32_t which)
{
    char name[64];

    snprintf(name, sizeof name, "%s-%llu.safetensors", kind, (unsigned long long)(seed + (uint64_t)which));
    return ex_path_join(out, name);
}

/* ---- runs ---------------------------------------------------------------------------------------------------- */

/* Where a run tells how far it is. */
typedef struct post {
    int32_t episodes;
    double jct_mean;
} post;

enum { STOPPED = 3 }; /* what a run leaves with that was told to stop, and saved */

/* The whole of a run, or what is left. Ends if the parent is gone: nobody would take the result, and another may be at
   the same file by now. */
static int run_work(int32_t which, pid_t parent, post *to)
{
    ex_path path = file_of("checkpoint", which);
    ex_marl_settings s;
    ex_marl_row row;
    ex_marl *m;
    int status = EX_GO_ON;

    run_settings(which, &s);
    m = ex_marl_create(&s);
    if (!m) return EX_FAILED;
    if (resume) status = ex_marl_load(m, path.text);
    if (status == EX_GO_ON) status = EX_OK;
    while (status == EX_OK && ex_marl_episodes(m) < s.episodes) {
        status = ex_marl_episode(m, &row);
        if (status != EX_OK) break;
        to->episodes = ex_marl_episodes(m);
        to->jct_mean = row.jct_mean;
        if (getppid() != parent) status = EX_FAILED;
        else if (ex_interrupted() && to->episodes < s.episodes) {
            status = ex_marl_save(m, path.text) ? STOPPED : EX_FAILED;
        } else if (to->episodes % save_every == 0 || to->episodes == s.episodes) {
            status = ex_marl_save(m, path.text) ? EX_OK : EX_FAILED;
        }
    }
    ex_marl_destroy(m);
    return status;
}

typedef struct all_runs {
    int32_t *there; /* [seeds] episodes that were done before */
    int32_t next, todo, done;
    int64_t episodes; /* of runs that are not going on, since the start */
    bool failed;
    ex_lock *lock;
    ex_pool pool;
    ex_progress bar;
} all_runs;

static int32_t all_next(void *self)
{
    all_runs *b = self;

    while (b->next < seeds && b->there[b->next] >= settings.episodes) b->next++;
    return b->next < seeds && !b->failed ? b->next++ : -1;
}

/* The lock is on an open folder: a child that held it open would keep it locked after its parent's death. */
static int all_run(void *self, int32_t which, void *mail, pid_t parent)
{
    all_runs *b = self;

    ex_folder_unlock(b->lock);
    return run_work(which, parent, mail);
}

static bool all_take(void *self, int32_t which, const void *mail, int status, int killer)
{
    all_runs *b = self;
    const post *from = mail;

    if (from->episodes > 0) b->episodes += from->episodes - b->there[which];
    b->done += status == EX_OK;
    if (status == EX_OK || status == STOPPED) return true;
    if (killer) ex_fail("seed %llu: ended by signal %d", (unsigned long long)seed + (unsigned)which, killer);
    b->failed = true; /* it has said why */
    return false;
}

static void all_show(void *self)
{
    all_runs *b = self;
    int64_t episodes = b->episodes;
    double jct = 0;
    const void *mail;
    int32_t i, which, running = 0;

    for (i = 0; i < b->pool.jobs; i++) {
        const post *from;
        which = ex_pool_look(&b->pool, i, &mail);
        if (which < 0) continue;
        from = mail;
        if (from->episodes <= 0) continue; /* it has not begun */
        episodes += from->episodes - b->there[which];
        jct += from->jct_mean;
        running++;
    }
    if (running) ex_progress_step(&b->bar, episodes, "jobs take %.1f ms", 1000 * jct / running);
    else ex_progress_step(&b->bar, episodes, NULL);
}

/* Runs what is not over yet. After an interrupt or a failure the others are asked to end, and save what they have. */
static int all_work(all_runs *b)
{
    int64_t episodes = 0;
    int32_t i;

    for (i = 0; i < seeds; i++) {
        if (b->there[i] >= settings.episodes) continue;
        b->todo++;
        episodes += settings.episodes - b->there[i];
    }
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
    ex_progress_start(&b->bar, "training", episodes, quiet);
    if (!ex_pool_work(&b->pool)) b->failed = true;
    if (b->failed || ex_interrupted() || b->todo == 0) ex_progress_end(&b->bar, NULL);
    else ex_progress_end(&b->bar, "%d runs of %d episodes,", (int)b->done, (int)settings.episodes);
    if (b->failed) return EX_FAILED;
    if (!ex_interrupted()) return EX_OK;
    fprintf(stderr, "marl_train: stopped with %d of %d runs done; go on with the same command and --resume\n",
            (int)(seeds - b->todo + b->done), (int)seeds);
    return ex_interrupt_status();
}

/* With --resume: how far every run is. Every file is looked at before any is gone on with. */
static int take_up(int32_t *there)
{
    int32_t i;

    for (i = 0; i < seeds && resume; i++) {
        ex_marl_settings s;
        ex_marl *m;
        int status;
        if (access(file_of("checkpoint", i).text, F_OK) != 0) continue;
        run_settings(i, &s);
        m = ex_marl_create(&s);
        if (!m) return EX_FAILED;
        status = ex_marl_load(m, file_of("checkpoint", i).text);
        there[i] = ex_marl_episodes(m);
        ex_marl_destroy(m);
        if (status != EX_OK && status != EX_GO_ON) return status;
    }
    return EX_OK;
}

/* ---- what came out ------------------------------------------------------------------------------------------- */

/* A policy in the worlds to judge by: means over them. */
typedef struct verdict {
    char name[64];
    double mean, p90, p99, lost;
} verdict;

enum { CLASSICS = 4 };

typedef struct outcome {
    ex_marl_row *rows; /* [seeds][episodes] */
    double *updates;   /* [seeds] */
    verdict classic[CLASSICS], *learned; /* [seeds]; mean 0: not judged */
    int32_t classics, worlds;
    ex_marl_settings settled;
} outcome;

static const struct {
    const char *policy, *name;
    int32_t weights;
} classics[CLASSICS] = {
    { "sed", "sed, told the capacities", EX_WEIGHTS_CAPACITY },
    { "wcmp", "wcmp, told the capacities", EX_WEIGHTS_CAPACITY },
    { "sed", "sed, told nothing", EX_WEIGHTS_EQUAL },
    { "lsq", "lsq", EX_WEIGHTS_EQUAL }, /* the same, but for ties and for how servers that return are eased in */
};

static const ex_marl_row *row_of(const outcome *o, int32_t which, int32_t episode)
{
    return &o->rows[(size_t)which * (size_t)settings.episodes + (size_t)episode];
}

static void add_episode(verdict *v, double mean, double p90, double p99, double lost, int32_t worlds)
{
    v->mean += mean / worlds;
    v->p90 += p90 / worlds;
    v->p99 += p99 / worlds;
    v->lost += lost / worlds;
}

static double lost_share(const ex_cell *c)
{
    double lost = c->value[EX_FLOW_REJECTED] + c->value[EX_FLOW_FAILED] + c->value[EX_FLOW_TIMED_OUT];
    double ends = lost + c->value[EX_FLOW_COMPLETED];

    return ends > 0 ? lost / ends : (double)NAN;
}

/* The classics in worlds to judge by: cells [CLASSICS][worlds]. */
static int judge_classics(ex_marl *m, outcome *o)
{
    int32_t n = o->worlds, i, k, count, status = EX_GO_ON;
    ex_cell *cells = calloc((size_t)(CLASSICS * n), sizeof *cells);
    ex_pages *pages = calloc((size_t)n, sizeof *pages);
    ex_balance policy[EX_BALANCES_MAX];
    ex_flows world;
    ex_flows_how how = { 0 };

    how.preset = preset;
    how.servers = o->settled.servers;
    memset(&world, 0, sizeof world);
    if (!cells || !pages) status = ex_fail("no memory for %d worlds to judge by", (int)n);
    if (status == EX_GO_ON && !ex_flows_open(&world, &how)) status = EX_FAILED;
    for (k = 0; k < n && status == EX_GO_ON; k++) {
        rllb_env_flows_desc d;
        if (!ex_marl_world(m, k, &pages[k], &d)) status = EX_FAILED;
        for (i = 0; i < CLASSICS && status == EX_GO_ON; i++) {
            ex_cell *c = &cells[i * n + k];
            ex_cell_default(c, &d, d.horizon_s);
            c->warmup = 0;
            c->desc.servers = world.servers[classics[i].weights];
            ex_balances_parse("policy", classics[i].policy, policy, &count);
            if (!ex_balance_apply(policy, &c->desc)) status = EX_FAILED;
            snprintf(c->name, sizeof c->name, "%s, world %d", classics[i].policy, (int)k);
        }
    }
    if (status == EX_GO_ON) status = ex_cells_run(cells, CLASSICS * n, jobs, "judging", true);
    for (i = 0; i < CLASSICS && status == EX_GO_ON; i++) {
        verdict *v = &o->classic[i];
        snprintf(v->name, sizeof v->name, "%s", classics[i].name);
        for (k = 0; k < n; k++) {
            const ex_cell *c = &cells[i * n + k];
            add_episode(v, c->value[EX_FLOW_MEAN], c->value[EX_FLOW_P90], c->value[EX_FLOW_P99], lost_share(c), n);
        }
        o->classics = i + 1;
    }
    for (k = 0; pages && k < n; k++) ex_pages_free(&pages[k]);
    free(pages);
    ex_cells_free(cells, CLASSICS * n);
    ex_flows_close(&world);
    return status == EX_GO_ON ? EX_OK : status;
}

static int judge_learned(ex_marl *m, outcome *o, verdict *v)
{
    ex_marl_row row;
    int32_t k, status = EX_OK;

    snprintf(v->name, sizeof v->name, "%s, seed %llu", ex_marl_algo_names[algo],
             (unsigned long long)ex_marl_query(m)->seed);
    for (k = 0; k < o->worlds && status == EX_OK; k++) {
        status = ex_marl_judge(m, k, &row);
        add_episode(v, row.jct_mean, row.jct_p90, row.jct_p99, row.lost, o->worlds);
    }
    return status;
}

/* An agent's policy as a file. One agent for several balancers is no policy of a balancer: its checkpoint is all there
   is of it. */
static bool write_model(ex_marl *m, int32_t which)
{
    rllb_nn_policy *policy;
    ex_model_info info;
    bool ok;

    if (algo == EX_MARL_SSAC && ex_marl_query(m)->balancers > 1) return true;
    ok = ex_marl_model(m, 0, &policy, &info) && ex_model_save(file_of("model", which).text, policy, &info);
    rllb_nn_policy_destroy(policy);
    return ok;
}

/* What the runs left in their checkpoints: curves, models, and how these fare. */
static int collect(outcome *o)
{
    int32_t i, status = EX_OK;

    o->rows = calloc((size_t)seeds * (size_t)settings.episodes, sizeof *o->rows);
    o->updates = calloc((size_t)seeds, sizeof *o->updates);
    o->learned = calloc((size_t)seeds, sizeof *o->learned);
    if (!o->rows || !o->updates || !o->learned) return ex_fail("no memory for %d seeds", (int)seeds);
    for (i = 0; i < seeds && status == EX_OK; i++) {
        ex_marl_settings s;
        ex_marl *m;
        run_settings(i, &s);
        m = ex_marl_create(&s);
        if (!m) return EX_FAILED;
        status = ex_marl_load(m, file_of("checkpoint", i).text);
        if (status == EX_GO_ON || (status == EX_OK && ex_marl_episodes(m) < s.episodes)) {
            status = ex_fail("%s is not what its run left there", file_of("checkpoint", i).text);
        }
        if (status == EX_OK) {
            memcpy(o->rows + (size_t)i * (size_t)s.episodes, ex_marl_rows(m), (size_t)s.episodes * sizeof *o->rows);
            o->updates[i] = row_of(o, i, s.episodes - 1)->updates;
            o->settled = *ex_marl_query(m);
            o->worlds = judged * (s.rates.count > 0 ? s.rates.count : 1);
            if (!write_model(m, i)) status = EX_FAILED;
        }
        if (status == EX_OK && o->worlds > 0) status = judge_learned(m, o, &o->learned[i]);
        if (status == EX_OK && i == 0 && o->worlds > 0 && !s.randomise) status = judge_classics(m, o);
        ex_marl_destroy(m);
    }
    return status;
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static void csv_figure(ex_csv *csv, double value)
{
    if (isnan(value)) ex_csv_string(csv, "");
    else ex_csv_double(csv, value);
}

/* All columns but the last, which tells the time. */
static bool write_curve(const outcome *o)
{
    double row[EX_MARL_COLUMNS];
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    char seed_text[32];
    int32_t i, k, c;
    bool ok;

    ex_csv_string(&csv, "seed");
    for (c = 0; c < EX_MARL_COLUMNS - 1; c++) ex_csv_string(&csv, ex_marl_columns[c]);
    ex_csv_row(&csv);
    for (i = 0; i < seeds; i++) {
        for (k = 0; k < settings.episodes; k++) {
            memcpy(row, row_of(o, i, k), sizeof row);
            snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed + (unsigned)i);
            ex_csv_string(&csv, seed_text);
            for (c = 0; c < EX_MARL_COLUMNS - 1; c++) csv_figure(&csv, row[c]);
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "curve.csv").text);
    ex_text_free(&text);
    return ok;
}

static void json_verdict(ex_json *j, const verdict *v)
{
    ex_json_row(j, NULL);
    ex_json_string(j, "policy", v->name);
    ex_json_double(j, "jct_mean", v->mean);
    ex_json_double(j, "jct_p90", v->p90);
    ex_json_double(j, "jct_p99", v->p99);
    ex_json_double(j, "lost", v->lost);
    ex_json_end(j);
}

static bool write_results(const outcome *o)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "marl_train");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_object(&j, "settings");
    ex_json_int(&j, "seeds", seeds);
    ex_json_uint(&j, "seed", seed);
    ex_json_int(&j, "judge", judged);
    ex_marl_settings_json(&o->settled, &j);
    ex_json_end(&j);
    ex_json_string(&j, "kernels",
                   rllb_nn_kernels_name(rllb_nn_kernels_query((rllb_nn_isa)settings.isa, settings.portable)));
    ex_json_int(&j, "judged_worlds", o->worlds);
    ex_json_array(&j, "runs");
    for (i = 0; i < seeds; i++) {
        ex_json_row(&j, NULL);
        ex_json_uint(&j, "seed", seed + (uint64_t)i);
        ex_json_int(&j, "episodes", settings.episodes);
        ex_json_double(&j, "updates", o->updates[i]);
        ex_json_double(&j, "jct_mean_last", row_of(o, i, settings.episodes - 1)->jct_mean);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_array(&j, "judged");
    for (i = 0; i < seeds && o->worlds > 0; i++) json_verdict(&j, &o->learned[i]);
    for (i = 0; i < o->classics; i++) json_verdict(&j, &o->classic[i]);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- the picture --------------------------------------------------------------------------------------------- */

enum { LINES_MOST = 12 };

/* Means over a round of the rates, so that an episode of a busy hour is no step back; ms. */
static void smooth_curve(const outcome *o, int32_t which, double *to)
{
    int32_t round = settings.rates.count > 0 ? settings.rates.count : 1, k;

    for (k = 0; k < settings.episodes; k++) to[k] = 1000 * row_of(o, which, k)->jct_mean;
    if (round > settings.episodes) round = settings.episodes;
    ex_rolling_mean(to, settings.episodes, round, to + settings.episodes);
    for (k = 0; k < settings.episodes; k++) to[k] = k < round - 1 ? (double)NAN : to[settings.episodes + k];
}

static int32_t add_series(ex_series *s, int32_t n, const double *x, const double *y, ex_color color, double width)
{
    memset(&s[n], 0, sizeof s[n]);
    s[n].x = x;
    s[n].y = y;
    s[n].count = settings.episodes;
    s[n].color = color;
    s[n].width = width;
    return n + 1;
}

static void draw_lines(const outcome *o, double *numbers, ex_line_chart *chart, ex_series *series)
{
    double *x = numbers, *mean = numbers + settings.episodes, *at = mean + settings.episodes;
    int32_t shown = seeds < LINES_MOST ? seeds : LINES_MOST, i, k, n = 0;

    for (k = 0; k < settings.episodes; k++) {
        x[k] = k + 1;
        mean[k] = 0;
    }
    for (i = 0; i < seeds; i++) {
        double *to = at + (i < shown ? (size_t)i : (size_t)shown) * 2 * (size_t)settings.episodes;
        smooth_curve(o, i, to);
        for (k = 0; k < settings.episodes; k++) mean[k] += to[k] / seeds;
        if (i < shown && seeds > 1) n = add_series(series, n, x, to, ex_alpha(ex_palette(0), 0.4), 1);
    }
    n = add_series(series, n, x, mean, ex_palette(0), 3.5);
    series[n - 1].name = seeds > 1 ? "mean of the seeds" : ex_marl_algo_names[algo];
    chart->series = series;
    chart->series_count = n;
}

static double highest(const ex_line_chart *chart)
{
    double most = 0;
    int32_t i, k;

    for (i = 0; i < chart->series_count; i++) {
        for (k = 0; k < chart->series[i].count; k++) {
            if (chart->series[i].y[k] > most) most = chart->series[i].y[k];
        }
    }
    return most;
}

/* The classics as lines; those that fare the same as one, those far above the picture in its note. */
static void draw_marks(const outcome *o, ex_line_chart *chart, ex_reference marks[CLASSICS],
                       char labels[CLASSICS][160], char *note, size_t size)
{
    double most = highest(chart);
    int32_t i, k, n = 0;
    size_t used = strlen(note);

    for (i = 0; i < o->classics; i++) {
        double y = 1000 * o->classic[i].mean;
        if (most > 0 && y > 1.5 * most) {
            used += (size_t)snprintf(note + used, size - used, " Above: %s, %.1f ms.", o->classic[i].name, y);
            continue;
        }
        for (k = 0; k < n && fabs(marks[k].y - y) > 1e-4 * y; k++) {}
        if (k < n) {
            size_t length = strlen(labels[k]);
            snprintf(labels[k] + length, 160 - length, "; %s", o->classic[i].name);
            continue;
        }
        snprintf(labels[n], 160, "%s", o->classic[i].name);
        marks[n].label = labels[n];
        marks[n].y = y;
        marks[n].color = ex_palette(n + 1);
        n++;
    }
    chart->references = marks;
    chart->reference_count = n;
}

static bool draw_curve(const outcome *o)
{
    static ex_series series[LINES_MOST + 1];
    ex_reference marks[CLASSICS];
    ex_line_chart chart;
    char title[160], note[480], labels[CLASSICS][160];
    int32_t round = settings.rates.count > 1 ? settings.rates.count : 1;
    size_t shown = (size_t)(seeds < LINES_MOST ? seeds : LINES_MOST);
    double *numbers = malloc((2 + 2 * (shown + 1)) * (size_t)settings.episodes * sizeof *numbers);
    bool ok;

    if (!numbers) return ex_fail("no memory for the picture") == EX_OK;
    memset(&chart, 0, sizeof chart);
    memset(marks, 0, sizeof marks);
    draw_lines(o, numbers, &chart, series);
    snprintf(title, sizeof title, "%s on %s: job completion time while it learns", ex_marl_algo_names[algo],
             settings.randomise ? "random worlds" : ex_preset_names[preset]);
    snprintf(note, sizeof note, "Mean over %d episode%s, exploration included; updates begin after %s %d.%s",
             (int)round, round > 1 ? "s, a round of the rates" : "", settings.every_step ? "step" : "episode",
             (int)settings.learn_start, o->classics ? " Dashed: the classics at the same rates." : "");
    draw_marks(o, &chart, marks, labels, note, sizeof note);
    chart.title = title;
    chart.note = note;
    chart.x.label = "episode";
    chart.y.label = "mean job completion time (ms)";
    ok = ex_line_chart_write(&chart, 0, 0, ex_path_join(out, "curve.png").text);
    free(numbers);
    return ok;
}

/* ---- main ---------------------------------------------------------------------------------------------------- */

static void tell_verdict(ex_table *t, const verdict *v)
{
    ex_table_cell(t, "%s", v->name);
    ex_table_cell(t, "%.1f", 1000 * v->mean);
    ex_table_cell(t, "%.1f", 1000 * v->p90);
    ex_table_cell(t, "%.1f", 1000 * v->p99);
    ex_table_cell(t, "%.2f", 100 * v->lost);
    ex_table_row(t);
}

static void tell(const outcome *o)
{
    ex_table t;
    int32_t i;

    if (o->worlds == 0) return;
    memset(&t, 0, sizeof t);
    ex_table_cell(&t, "policy");
    ex_table_cell(&t, "mean");
    ex_table_cell(&t, "P90");
    ex_table_cell(&t, "P99");
    ex_table_cell(&t, "lost %%");
    ex_table_row(&t);
    for (i = 0; i < seeds; i++) tell_verdict(&t, &o->learned[i]);
    if (o->classics) ex_table_rule(&t);
    for (i = 0; i < o->classics; i++) tell_verdict(&t, &o->classic[i]);
    ex_table_print(&t, stdout);
    ex_table_free(&t);
    printf("Job completion times in ms, means over %d worlds of %g s that training has not seen, each from empty.\n",
           (int)o->worlds, settings.horizon);
}

static int report(outcome *o)
{
    int status = collect(o);

    if (status != EX_OK) return status;
    if (!write_curve(o) || !write_results(o) || !draw_curve(o)) return EX_FAILED;
    if (!quiet) tell(o);
    return EX_OK;
}

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    all_runs b;
    outcome o;
    int status;

    ex_marl_settings_default(EX_MARL_QMIX, RLLB_ENV_PRESET_MODERATE, &asked);
    program.option_count = OWN_OPTIONS + ex_marl_options(&asked, options + OWN_OPTIONS);
    status = ex_options_parse(&program, argc, argv);
    if (status != EX_GO_ON) return status;
    ex_marl_settings_default(algo, preset, &settings);
    ex_marl_settings_take(&program, &asked, &settings);
    status = ex_marl_settings_check(&settings);
    if (status != EX_OK) return status;
    memset(&b, 0, sizeof b);
    memset(&o, 0, sizeof o);
    b.lock = &lock;
    b.there = calloc((size_t)seeds, sizeof *b.there);
    if (!b.there) return ex_fail("no memory for %d seeds", (int)seeds);
    status = take_up(b.there);
    if (status == EX_OK && !ex_folder_lock(out, &lock)) status = EX_FAILED;
    if (status == EX_OK) status = all_work(&b);
    if (status == EX_OK) status = report(&o);
    free(b.there);
    free(o.rows);
    free(o.updates);
    free(o.learned);
    ex_folder_unlock(&lock);
    return status;
}
