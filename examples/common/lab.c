/* lab.c - see lab.h */

#include "lab.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *const ex_lab_numbers[EX_LAB_NUMBERS] = {
    "mean", "p50", "p90", "p99", "wiki_mean", "wiki_p50", "wiki_p90", "static_mean", "static_p50", "static_p90",
    "fairness", "residual", "residual_max", "lost", "busy_weak", "busy_strong", "busy_ratio"
};

static void *grow(void *at, int32_t count, int32_t *room, size_t each)
{
    void *more = at;

    if (count < *room) return at;
    *room = *room * 2 + 64;
    more = realloc(at, (size_t)*room * each);
    if (more) return more;
    ex_fail("not enough memory");
    exit(EX_FAILED);
}

/* ---- what is asked for --------------------------------------------------------------------------------------- */

int32_t ex_lab_learner_of(ex_lab *lab, const char *name, int32_t world, const ex_marl_settings *s)
{
    ex_lab_learner *l;
    int32_t i;

    for (i = 0; i < lab->learner_count; i++) {
        if (strcmp(lab->learners[i].name, name) == 0) return i;
    }
    lab->learners = grow(lab->learners, lab->learner_count, &lab->learner_room, sizeof *lab->learners);
    l = &lab->learners[lab->learner_count];
    memset(l, 0, sizeof *l);
    snprintf(l->name, sizeof l->name, "%s", name);
    l->world = world;
    l->settings = *s;
    return lab->learner_count++;
}

static bool same_setting(const ex_lab_setting *a, const ex_lab_setting *b)
{
    return a->world == b->world && fabs(a->rate - b->rate) < 1e-9 && a->balancers == b->balancers &&
           (a->policy ? b->policy && strcmp(a->policy, b->policy) == 0 : !b->policy && a->learner == b->learner) &&
           fabs(a->step - b->step) < 1e-9;
}

/* Of a learner, the groups of its other models stand behind the first. */
int32_t ex_lab_row(ex_lab *lab, ex_lab_setting s)
{
    int32_t i, k, count = s.policy ? 1 : lab->seeds;

    for (i = 0; i < lab->group_count; i++) {
        if (same_setting(&lab->groups[i].is, &s)) return i;
    }
    for (k = 0; k < count; k++) {
        ex_lab_group *g;
        lab->groups = grow(lab->groups, lab->group_count, &lab->group_room, sizeof *lab->groups);
        g = &lab->groups[lab->group_count++];
        memset(g, 0, sizeof *g);
        g->is = s;
        g->model = k;
    }
    return lab->group_count - count;
}

/* ---- estimates ----------------------------------------------------------------------------------------------- */

static int32_t models_of(const ex_lab *lab, int32_t row)
{
    return lab->groups[row].is.policy ? 1 : lab->seeds;
}

static const double *values_of(const ex_lab *lab, int32_t row, int32_t model, int32_t run)
{
    return lab->groups[row + (model < models_of(lab, row) ? model : 0)].values + run * EX_LAB_VALUES;
}

static double value_of(const ex_lab *lab, int32_t row, int32_t over, int32_t number, int32_t model, int32_t run)
{
    double v = values_of(lab, row, model, run)[number];

    return over < 0 ? v : v / values_of(lab, over, model, run)[number];
}

static int32_t models_of_both(const ex_lab *lab, int32_t row, int32_t over)
{
    int32_t models = models_of(lab, row);

    return over >= 0 && models_of(lab, over) > models ? models_of(lab, over) : models;
}

static double half_of(ex_estimate e)
{
    return isfinite(e.high) ? e.high - e.mean : 0;
}

ex_estimate ex_lab_estimate(const ex_lab *lab, int32_t row, int32_t over, ex_lab_number number)
{
    static const ex_estimate none = { (double)NAN, (double)NAN, (double)NAN };
    double by_run[EX_LAB_RUNS_MAX] = { 0 }, by_model[EX_LAB_SEEDS_MAX] = { 0 };
    ex_estimate of_runs, of_models;
    int32_t k, r, models;

    if (lab->planning) return none;
    models = models_of_both(lab, row, over);
    for (k = 0; k < models; k++) {
        for (r = 0; r < lab->runs; r++) {
            double v = value_of(lab, row, over, (int32_t)number, k, r);
            if (!isfinite(v)) return none;
            by_run[r] += v / models;
            by_model[k] += v / lab->runs;
        }
    }
    of_runs = ex_estimate_t(by_run, lab->runs);
    of_models = ex_estimate_t(by_model, models);
    return half_of(of_models) > half_of(of_runs) ? of_models : of_runs;
}

double *ex_lab_spreads(const ex_lab *lab, const int32_t *rows, int32_t row_count, ex_lab_spread spread, double unit,
                       int32_t *count)
{
    double *v, *at;
    int32_t i, k, r, p;

    for (*count = 0, i = 0; i < row_count; i++) *count += models_of(lab, rows[i]) * lab->runs * EX_LAB_POINTS;
    at = v = calloc((size_t)*count + 1, sizeof *v);
    for (i = 0; v && i < row_count; i++) {
        for (k = 0; k < models_of(lab, rows[i]); k++) {
            for (r = 0; r < lab->runs; r++) {
                const double *from = values_of(lab, rows[i], k, r) + EX_LAB_NUMBERS + (int32_t)spread * EX_LAB_POINTS;
                for (p = 0; p < EX_LAB_POINTS; p++) *at++ = unit * from[p];
            }
        }
    }
    return v;
}

double *ex_lab_ratios(const ex_lab *lab, int32_t row, int32_t over, ex_lab_number number, int32_t *count)
{
    int32_t k, r, models = models_of_both(lab, row, over);
    double *v = calloc((size_t)(models * lab->runs), sizeof *v);

    *count = models * lab->runs;
    for (k = 0; v && k < models; k++) {
        for (r = 0; r < lab->runs; r++) v[k * lab->runs + r] = value_of(lab, row, over, (int32_t)number, k, r);
    }
    return v;
}

/* ---- files of what is done ----------------------------------------------------------------------------------- */

static uint64_t hash_of(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t h = 14695981039346656037u;
    size_t i;

    for (i = 0; i < size; i++) h = (h ^ at[i]) * 1099511628211u;
    return h;
}

bool ex_lab_is_there(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0;
}

void ex_lab_model_path(const ex_lab *lab, int32_t learner, int32_t model, const char *ending, char path[1200])
{
    const ex_lab_learner *l = &lab->learners[learner];
    ex_marl_settings s = l->settings;
    ex_text text = { 0 };
    ex_json j = { .to = &text };

    s.seed = lab->seed + (uint64_t)model;
    ex_json_object(&j, NULL);
    ex_marl_settings_json(&s, &j);
    ex_json_end(&j);
    ex_text_printf(&text, "%d %d %s", (int)s.algo, (int)s.preset, RLLB_VERSION_STRING);
    snprintf(path, 1200, "%s/models/%s-%llu-%016llx%s", lab->out, l->name, (unsigned long long)s.seed,
             (unsigned long long)hash_of(text.data, text.size), ending);
    ex_text_free(&text);
}

/* Everything that shapes the runs of a group; a learned one by the bytes of its model. False: said. */
static bool group_path(const ex_lab *lab, ex_lab_group *g)
{
    const ex_lab_setting *s = &g->is;
    const ex_lab_world *w = &lab->worlds[s->world];
    ex_text text = { 0 }, model = { 0 };
    char path[1200];

    ex_text_printf(&text, "%s %s %.9g %d %d %d %d %g %g %g %d %llu", RLLB_VERSION_STRING, w->name, s->rate,
                   (int)s->balancers, (int)w->preset, (int)w->servers, (int)w->pages, w->duration_s, w->warmup, s->step,
                   (int)lab->runs, (unsigned long long)lab->seed);
    if (s->policy) {
        ex_text_printf(&text, " %s", s->policy);
    } else {
        ex_lab_model_path(lab, s->learner, g->model, ".safetensors", path);
        if (!ex_file_read(path, (size_t)1 << 30, &model)) return false;
        ex_text_printf(&text, " %016llx", (unsigned long long)hash_of(model.data, model.size));
        ex_text_free(&model);
    }
    snprintf(g->path, sizeof g->path, "%s/cells/%s-%.6g-%s-%016llx.csv", lab->out, w->name, s->rate,
             s->policy ? s->policy : lab->learners[s->learner].name,
             (unsigned long long)hash_of(text.data, text.size));
    ex_text_free(&text);
    return true;
}

static void group_heading(ex_text *text)
{
    static const char *const spreads[EX_LAB_SPREADS] = { "all", "wiki", "static", "weak", "strong" };
    int32_t i, k;

    for (i = 0; i < EX_LAB_NUMBERS; i++) ex_text_printf(text, "%s%s", i ? "," : "", ex_lab_numbers[i]);
    for (k = 0; k < EX_LAB_SPREADS; k++) {
        for (i = 0; i < EX_LAB_POINTS; i++) {
            ex_text_printf(text, ",%s_%d", spreads[k], (int)(i * 100 / (EX_LAB_POINTS - 1)));
        }
    }
    ex_text_printf(text, "\n");
}

static bool group_write(const ex_lab *lab, const ex_lab_group *g)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t r, i;
    bool ok;

    group_heading(&text);
    for (r = 0; r < lab->runs; r++) {
        for (i = 0; i < EX_LAB_VALUES; i++) ex_csv_double(&csv, g->values[r * EX_LAB_VALUES + i]);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, g->path);
    ex_text_free(&text);
    return ok;
}

/* False: said; a file that is not what it should be is named. */
static bool group_read(const ex_lab *lab, ex_lab_group *g)
{
    int32_t i = 0, values = lab->runs * EX_LAB_VALUES;
    ex_text text = { 0 }, heading = { 0 };
    char *at, *end;
    bool ok;

    if (!ex_file_read(g->path, (size_t)1 << 26, &text)) return false;
    group_heading(&heading);
    ok = text.size > heading.size && memcmp(text.data, heading.data, heading.size) == 0;
    g->values = calloc((size_t)values, sizeof *g->values);
    for (at = ok ? text.data + heading.size : text.data; ok && g->values && i < values; i++, at = end + 1) {
        g->values[i] = strtod(at, &end);
        ok = end > at && *end == ((i + 1) % EX_LAB_VALUES ? ',' : '\n');
    }
    ok = ok && g->values && at == text.data + text.size;
    if (!ok) ex_fail("%s: not the runs of a cell; without this file they are made again", g->path);
    ex_text_free(&text);
    ex_text_free(&heading);
    return ok;
}

/* A line in seconds.csv. */
static bool add_seconds(const ex_lab *lab, const char *kind, const char *name, double seconds)
{
    ex_path path = ex_path_join(lab->out, "seconds.csv");
    ex_text text = { 0 };
    bool ok = !ex_lab_is_there(path.text) || ex_file_read(path.text, (size_t)1 << 26, &text);

    if (!ok) return false;
    if (text.size == 0) ex_text_printf(&text, "kind,name,seconds\n");
    ex_text_printf(&text, "%s,%s,%.1f\n", kind, name, seconds);
    ok = ex_text_write(&text, path.text);
    ex_text_free(&text);
    return ok;
}

/* ---- training ------------------------------------------------------------------------------------------------ */

enum { STOPPED = 3 }; /* what a run leaves with that was told to stop, and saved */
#define SAVE_EVERY_S 60

typedef struct lesson {
    int32_t learner, model;
} lesson;

/* Where one tells how far it is. */
typedef struct post {
    volatile int32_t episodes;
    double cpu_s;
} post;

typedef struct school {
    ex_lab *lab;
    lesson *lessons;
    int32_t count, next, done;
    int64_t episodes, episodes_done;
    bool failed;
    ex_pool pool;
    ex_progress bar;
} school;

/* Not the last column, the seconds: files do not tell the time. */
enum { FIELDS = EX_MARL_COLUMNS - 1, JUDGED_MAX = 512 };

static bool rows_write(const ex_marl_row *rows, int32_t count, const char *path)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i, k;
    bool ok;

    for (k = 0; k < FIELDS; k++) ex_csv_string(&csv, ex_marl_columns[k]);
    ex_csv_row(&csv);
    for (i = 0; i < count; i++) {
        double row[EX_MARL_COLUMNS];
        memcpy(row, &rows[i], sizeof row);
        for (k = 0; k < FIELDS; k++) ex_csv_double(&csv, row[k]);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, path);
    ex_text_free(&text);
    return ok;
}

/* What a lesson has been judged at so far. */
typedef struct judgement {
    ex_marl_row rows[JUDGED_MAX];
    int32_t count;
} judgement;

static int32_t judge_worlds(const ex_marl_settings *s)
{
    return s->rates.count > 0 ? s->rates.count : 1;
}

static bool judge_due(const ex_lab_learner *l, int32_t done, const judgement *j)
{
    const ex_marl_settings *s = &l->settings;

    if (l->judge_every < 1 || j->count >= JUDGED_MAX) return false;
    if (j->count > 0 && j->rows[j->count - 1].episode > done - 0.5) return false; /* it has been */
    return done == s->episodes || (done >= s->learn_start && (done - s->learn_start) % l->judge_every == 0);
}

/* One world of each rate. */
static bool judge_now(ex_marl *m, judgement *j)
{
    int32_t k, n = judge_worlds(ex_marl_query(m));
    ex_marl_row *to = &j->rows[j->count], row;

    memset(to, 0, sizeof *to);
    to->episode = ex_marl_episodes(m);
    if (to->episode > 0) to->updates = ex_marl_rows(m)[ex_marl_episodes(m) - 1].updates;
    for (k = 0; k < n; k++) {
        if (ex_marl_judge(m, k, &row) != EX_OK) return false;
        to->rate += row.rate / n;
        to->jct_mean += row.jct_mean / n;
        to->jct_p90 += row.jct_p90 / n;
        to->jct_p99 += row.jct_p99 / n;
        to->completed += row.completed / n;
        to->lost += row.lost / n;
        to->reward += row.reward / n;
    }
    j->count++;
    return true;
}

/* The curve first: where there is a model, all of it is there. */
static bool lesson_end(const ex_lab *lab, const lesson *at, ex_marl *m, const judgement *j)
{
    char path[1200];
    rllb_nn_policy *policy = NULL;
    ex_model_info info;
    bool ok;

    ex_lab_model_path(lab, at->learner, at->model, ".csv", path);
    if (!rows_write(ex_marl_rows(m), ex_marl_episodes(m), path)) return false;
    ex_lab_model_path(lab, at->learner, at->model, ".judged.csv", path);
    if (j->count > 0 && !rows_write(j->rows, j->count, path)) return false;
    if (!ex_marl_model(m, 0, &policy, &info)) return false;
    ex_lab_model_path(lab, at->learner, at->model, ".safetensors", path);
    ok = ex_model_save(path, policy, &info);
    rllb_nn_policy_destroy(policy);
    ex_lab_model_path(lab, at->learner, at->model, ".state", path);
    remove(path);
    return ok;
}

/* What was judged first: what it has beyond the state is judged again. */
static bool lesson_save(const ex_lab *lab, const lesson *at, ex_marl *m, const judgement *j)
{
    char path[1200];

    ex_lab_model_path(lab, at->learner, at->model, ".judged.csv", path);
    if (j->count > 0 && !rows_write(j->rows, j->count, path)) return false;
    ex_lab_model_path(lab, at->learner, at->model, ".state", path);
    return ex_marl_save(m, path);
}

/* One that diverges keeps what it was before, and has a shorter curve; that is shown. */
static int lesson_work(const ex_lab *lab, const lesson *at, ex_marl *m, judgement *j, post *to, pid_t parent)
{
    const ex_lab_learner *l = &lab->learners[at->learner];
    double saved_s = ex_clock_s();
    ex_marl_row row;

    for (;;) {
        if (judge_due(l, ex_marl_episodes(m), j) && !judge_now(m, j)) return EX_FAILED;
        if (ex_marl_episodes(m) >= l->settings.episodes) break;
        if (getppid() != parent) return EX_FAILED;
        if (ex_interrupted()) return lesson_save(lab, at, m, j) ? STOPPED : EX_FAILED;
        if (ex_marl_episode(m, &row) != EX_OK) break;
        to->episodes = ex_marl_episodes(m);
        if (ex_clock_s() - saved_s < SAVE_EVERY_S) continue;
        if (!lesson_save(lab, at, m, j)) return EX_FAILED;
        saved_s = ex_clock_s();
    }
    return ex_marl_episodes(m) > 0 && lesson_end(lab, at, m, j) ? EX_OK : EX_FAILED;
}

/* Up to where the state is. */
static bool judged_read(const ex_lab *lab, const lesson *at, int32_t done, judgement *j)
{
    char path[1200];
    ex_lab_curve c;
    int32_t i, k;

    j->count = 0;
    ex_lab_model_path(lab, at->learner, at->model, ".judged.csv", path);
    if (!ex_lab_is_there(path)) return true;
    if (!ex_lab_curve_read(lab, at->learner, at->model, true, &c)) return false;
    for (i = 0; i < c.count && i < JUDGED_MAX && c.columns[i] < done + 0.5; i++) {
        double row[EX_MARL_COLUMNS] = { 0 };
        for (k = 0; k < FIELDS; k++) row[k] = c.columns[k * c.count + i];
        memcpy(&j->rows[j->count++], row, sizeof row);
    }
    ex_lab_curve_free(&c);
    return true;
}

static int school_run(void *self, int32_t which, void *mail, pid_t parent)
{
    school *s = self;
    static judgement j;
    const lesson *at = &s->lessons[which];
    ex_marl_settings settings = s->lab->learners[at->learner].settings;
    clock_t from = clock();
    char state[1200];
    post *to = mail;
    ex_marl *m;
    int status;

    ex_folder_unlock(&s->lab->lock); /* a child that held it would keep it after its parent's death */
    settings.seed = s->lab->seed + (uint64_t)at->model;
    m = ex_marl_create(&settings);
    if (!m) return EX_FAILED;
    ex_lab_model_path(s->lab, at->learner, at->model, ".state", state);
    status = ex_marl_load(m, state);
    if (status == EX_OK || status == EX_GO_ON) {
        bool ok = judged_read(s->lab, at, ex_marl_episodes(m), &j);
        status = ok ? lesson_work(s->lab, at, m, &j, to, parent) : EX_FAILED;
    }
    ex_marl_destroy(m);
    to->cpu_s = (double)(clock() - from) / CLOCKS_PER_SEC;
    return status;
}

static int32_t school_next(void *self)
{
    school *s = self;
    return s->failed || s->next >= s->count ? -1 : s->next++;
}

static bool school_take(void *self, int32_t which, const void *mail, int status, int killer)
{
    school *s = self;
    const post *from = mail;
    const ex_lab_learner *l = &s->lab->learners[s->lessons[which].learner];

    if (status == STOPPED || (killer == SIGTERM && ex_interrupted())) return true; /* told twice, it ends at once */
    if (status == EX_OK) {
        s->done++;
        s->episodes_done += l->settings.episodes;
        return add_seconds(s->lab, "train", l->name, from->cpu_s);
    }
    if (killer) ex_fail("the training of %s was ended by signal %d", l->name, killer);
    s->failed = true; /* it has said why */
    return false;
}

static void school_show(void *self)
{
    school *s = self;
    int64_t there = s->episodes_done;
    const char *name = "";
    const void *mail;
    int32_t i, which;

    for (i = 0; i < s->pool.jobs; i++) {
        which = ex_pool_look(&s->pool, i, &mail);
        if (which < 0) continue;
        there += ((const post *)mail)->episodes;
        name = s->lab->learners[s->lessons[which].learner].name;
    }
    ex_progress_step(&s->bar, there, "%d of %d models, %s", (int)s->done, (int)s->count, name);
}

static bool lesson_is_done(const ex_lab *lab, int32_t learner, int32_t model)
{
    char path[1200];

    ex_lab_model_path(lab, learner, model, ".judged.csv", path);
    if (lab->learners[learner].judge_every > 0 && !ex_lab_is_there(path)) return false;
    ex_lab_model_path(lab, learner, model, ".safetensors", path);
    return ex_lab_is_there(path);
}

/* First one model of each, then the second ones. */
static bool school_fill(school *s)
{
    ex_lab *lab = s->lab;
    int32_t i, k;

    s->lessons = calloc((size_t)(lab->learner_count * lab->seeds) + 1, sizeof *s->lessons);
    if (!s->lessons) return ex_fail("not enough memory") == EX_OK;
    for (k = 0; k < lab->seeds; k++) {
        for (i = 0; i < lab->learner_count; i++) {
            if (lesson_is_done(lab, i, k)) continue;
            s->lessons[s->count].learner = i;
            s->lessons[s->count++].model = k;
            s->episodes += lab->learners[i].settings.episodes;
        }
    }
    return true;
}

static bool school_work(school *s)
{
    bool ok;

    s->pool.self = s;
    s->pool.jobs = s->lab->jobs;
    s->pool.runs = s->count;
    s->pool.mail_bytes = sizeof(post);
    s->pool.stop_signal = SIGTERM;
    s->pool.next = school_next;
    s->pool.run = school_run;
    s->pool.take = school_take;
    s->pool.show = school_show;
    ex_progress_start(&s->bar, "training", s->episodes, s->lab->quiet);
    ok = ex_pool_work(&s->pool) && !s->failed;
    if (!ok || ex_interrupted()) ex_progress_end(&s->bar, NULL);
    else ex_progress_end(&s->bar, "%d models", (int)s->done);
    return ok;
}

static int train_missing(ex_lab *lab)
{
    school s;
    bool ok;

    memset(&s, 0, sizeof s);
    s.lab = lab;
    ok = school_fill(&s) && (s.count == 0 || school_work(&s));
    free(s.lessons);
    if (!ok) return EX_FAILED;
    if (!ex_interrupted()) return EX_GO_ON;
    fprintf(stderr, "%s: stopped with %d of %d models trained; go on with the same command\n", ex_program_name(),
            (int)s.done, (int)s.count);
    return ex_interrupt_status();
}

/* ---- judging ------------------------------------------------------------------------------------------------- */

/* The pages of a run: the same for all that are judged on it. */
typedef struct ex_lab_traffic {
    int32_t world, run;
    double rate;
    ex_pages pages;
} traffic;

/* Looks for it, or makes it. NULL: no memory, said. */
static const ex_pages *pages_of(ex_lab *lab, const ex_lab_setting *s, int32_t run)
{
    const ex_lab_world *w = &lab->worlds[s->world];
    traffic *t;
    int32_t i;

    for (i = 0; i < lab->traffic_count; i++) {
        t = &lab->traffic[i];
        if (t->world == s->world && fabs(t->rate - s->rate) < 1e-9 && t->run == run) return &t->pages;
    }
    lab->traffic = grow(lab->traffic, lab->traffic_count, &lab->traffic_room, sizeof *lab->traffic);
    t = &lab->traffic[lab->traffic_count];
    t->world = s->world;
    t->rate = s->rate;
    t->run = run;
    if (!ex_pages_make(&t->pages, s->rate, lab->told[s->world].desc.work_s, w->duration_s + 1,
                       lab->seed + (uint64_t)run)) return NULL;
    lab->traffic_count++;
    return &t->pages;
}

/* What a batch of groups is judged with. */
enum { BATCH = 16 };

typedef struct batch {
    ex_lab *lab;
    ex_lab_group *groups[BATCH];
    ex_model models[BATCH];
    int32_t count;
    ex_cell *cells; /* [count][runs] */
} batch;

static bool cell_rule(batch *b, int32_t i, ex_cell *c)
{
    const ex_lab_setting *s = &b->groups[i]->is;
    ex_balance rule[EX_BALANCES_MAX];
    ex_model *model = &b->models[i];
    int32_t n = 0;
    char why[200];

    if (s->policy) {
        return ex_balances_parse("policy", s->policy, rule, &n) == EX_OK && ex_balance_apply(&rule[0], &c->desc);
    }
    if (!ex_model_fits(model, &c->desc, why)) return ex_fail("%s", why) == EX_OK;
    if (!ex_model_apply(model, &c->desc)) return false;
    if (s->step > 0) c->desc.step_s *= s->step;
    return true;
}

static bool cell_set(batch *b, int32_t i, int32_t run, ex_cell *c)
{
    ex_lab *lab = b->lab;
    const ex_lab_setting *s = &b->groups[i]->is;
    const ex_lab_world *w = &lab->worlds[s->world];
    const ex_pages *pages;

    ex_cell_default(c, s->policy ? &lab->told[s->world].desc : &lab->untold[s->world].desc, w->duration_s);
    c->warmup = w->warmup;
    c->wants_series = true;
    c->desc.rate = s->rate;
    c->desc.seed = lab->seed + (uint64_t)run;
    c->desc.horizon_s = 1e6; /* nobody steps */
    if (s->balancers > 0) c->desc.balancers = s->balancers;
    snprintf(c->name, sizeof c->name, "%s, %s", w->name, s->policy ? s->policy : lab->learners[s->learner].name);
    if (w->pages) {
        pages = pages_of(lab, s, run);
        if (!pages) return false;
        c->desc.trace = &pages->trace;
        c->desc.rate = pages->rate;
        c->desc.work_s = pages->work_s;
        c->apart_s = EX_PAGES_STATIC_S;
    }
    return cell_rule(b, i, c);
}

/* Quantiles of a figure over time, without the warm-up. */
static void spread_series(const ex_cell *c, int32_t column, double *to)
{
    double sorted[EX_FLOW_BINS];
    int32_t i, k, n = 0;

    for (i = (int32_t)(c->warmup * c->bins); i < c->bins; i++) {
        double v = c->series[column * c->bins + i];
        for (k = n++; k > 0 && sorted[k - 1] > v; k--) sorted[k] = sorted[k - 1];
        sorted[k] = v;
    }
    for (i = 0; i < EX_LAB_POINTS; i++) to[i] = n > 0 ? sorted[i * (n - 1) / (EX_LAB_POINTS - 1)] : (double)NAN;
}

static void spread_quantiles(const float *from, double *to)
{
    int32_t i;

    for (i = 0; i < EX_LAB_POINTS; i++) to[i] = (double)from[i * (EX_FLOW_QUANTILES - 1) / (EX_LAB_POINTS - 1)];
}

static void take_class(const ex_flow_class *from, bool there, double *number, double *spread)
{
    number[0] = there ? from->mean : (double)NAN;
    number[1] = there ? from->p50 : (double)NAN;
    number[2] = there ? from->p90 : (double)NAN;
    spread_quantiles(from->quantile, spread);
}

static void take_busy(const ex_cell *c, double *v, double *spread)
{
    ex_group kinds[EX_GROUPS_MAX];
    int32_t weak;

    ex_flows_groups(&c->desc, kinds, NULL);
    weak = kinds[0].cpus < kinds[1].cpus ? 0 : 1;
    v[EX_LAB_BUSY_WEAK] = c->busy[weak];
    v[EX_LAB_BUSY_STRONG] = c->busy[1 - weak];
    v[EX_LAB_BUSY_RATIO] = c->busy[1 - weak] / c->busy[weak];
    spread_series(c, EX_COLUMN_BUSY + weak, spread + EX_LAB_WEAK * EX_LAB_POINTS);
    spread_series(c, EX_COLUMN_BUSY + 1 - weak, spread + EX_LAB_STRONG * EX_LAB_POINTS);
}

static void take_cell(const ex_cell *c, double *v)
{
    double lost = c->value[EX_FLOW_REJECTED] + c->value[EX_FLOW_FAILED] + c->value[EX_FLOW_TIMED_OUT];
    double *spread = v + EX_LAB_NUMBERS;
    bool pages = c->apart_s > 0;

    v[EX_LAB_MEAN] = c->value[EX_FLOW_MEAN];
    v[EX_LAB_P50] = c->value[EX_FLOW_P50];
    v[EX_LAB_P90] = c->value[EX_FLOW_P90];
    v[EX_LAB_P99] = c->value[EX_FLOW_P99];
    take_class(&c->classes[1], pages, v + EX_LAB_WIKI_MEAN, spread + EX_LAB_WIKI * EX_LAB_POINTS);
    take_class(&c->classes[0], pages, v + EX_LAB_STATIC_MEAN, spread + EX_LAB_STATIC * EX_LAB_POINTS);
    v[EX_LAB_FAIR] = c->value[EX_FLOW_JAIN_BUSY];
    v[EX_LAB_RESIDUAL] = c->value[EX_FLOW_RESIDUAL_MEAN];
    v[EX_LAB_RESIDUAL_MAX] = c->value[EX_FLOW_RESIDUAL_MAX];
    v[EX_LAB_LOST] = lost / (lost + c->value[EX_FLOW_COMPLETED]);
    spread_quantiles(c->quantile, spread + EX_LAB_ALL * EX_LAB_POINTS);
    take_busy(c, v, spread);
}

static bool batch_take(batch *b)
{
    int32_t i, r, runs = b->lab->runs;

    for (i = 0; i < b->count; i++) {
        ex_lab_group *g = b->groups[i];
        g->values = calloc((size_t)runs * EX_LAB_VALUES, sizeof *g->values);
        if (!g->values) return ex_fail("not enough memory") == EX_OK;
        for (r = 0; r < runs; r++) take_cell(&b->cells[i * runs + r], g->values + r * EX_LAB_VALUES);
        if (!group_write(b->lab, g)) return false;
    }
    return true;
}

static bool batch_set(batch *b)
{
    int32_t i, r, runs = b->lab->runs;
    char path[1200];

    b->cells = calloc((size_t)(b->count * runs), sizeof *b->cells);
    if (!b->cells) return ex_fail("not enough memory") == EX_OK;
    for (i = 0; i < b->count; i++) {
        const ex_lab_setting *s = &b->groups[i]->is;
        for (r = 0; r < runs; r++) { /* room for all of them first: it may move */
            if (b->lab->worlds[s->world].pages && !pages_of(b->lab, s, r)) return false;
        }
    }
    for (i = 0; i < b->count; i++) {
        const ex_lab_group *g = b->groups[i];
        if (!g->is.policy) {
            ex_lab_model_path(b->lab, g->is.learner, g->model, ".safetensors", path);
            if (!ex_model_open(path, &b->models[i])) return false;
        }
        for (r = 0; r < runs; r++) {
            if (!cell_set(b, i, r, &b->cells[i * runs + r])) return false;
        }
    }
    return true;
}

static int batch_work(batch *b, const char *what)
{
    double from_s = ex_clock_s();
    int status = EX_FAILED;
    int32_t i;
    char name[32];

    if (batch_set(b)) status = ex_cells_run(b->cells, b->count * b->lab->runs, b->lab->jobs, what, b->lab->quiet);
    if (status == EX_GO_ON && !batch_take(b)) status = EX_FAILED;
    for (i = 0; i < b->count; i++) ex_model_close(&b->models[i]);
    ex_cells_free(b->cells, b->count * b->lab->runs);
    snprintf(name, sizeof name, "%d cells", (int)b->count);
    if (status == EX_GO_ON && !add_seconds(b->lab, "judge", name, ex_clock_s() - from_s)) status = EX_FAILED;
    return status;
}

/* Groups whose file is there are read, the others run, some at a time. */
static int judge_missing(ex_lab *lab)
{
    int status = EX_GO_ON;
    int32_t i = 0;

    while (status == EX_GO_ON && i < lab->group_count) {
        char what[48];
        batch b;
        memset(&b, 0, sizeof b);
        b.lab = lab;
        for (; i < lab->group_count && b.count < BATCH; i++) {
            ex_lab_group *g = &lab->groups[i];
            if (!group_path(lab, g)) return EX_FAILED;
            if (!ex_lab_is_there(g->path)) b.groups[b.count++] = g;
            else if (!group_read(lab, g)) return EX_FAILED;
        }
        snprintf(what, sizeof what, "judging, %d of %d", (int)i, (int)lab->group_count);
        if (b.count > 0) status = batch_work(&b, what);
    }
    return status;
}

/* ---- curves of learning -------------------------------------------------------------------------------------- */

const double *ex_lab_curve_column(const ex_lab_curve *c, const char *name)
{
    int32_t i;

    for (i = 0; i < EX_MARL_COLUMNS - 1; i++) {
        if (strcmp(ex_marl_columns[i], name) == 0) return c->columns + i * c->count;
    }
    return NULL;
}

void ex_lab_curve_free(ex_lab_curve *c)
{
    free(c->columns);
    memset(c, 0, sizeof *c);
}

bool ex_lab_curve_read(const ex_lab *lab, int32_t learner, int32_t model, bool judged, ex_lab_curve *c)
{
    ex_text text = { 0 };
    char path[1200], *at, *end;
    int32_t i, rows = 0;
    bool ok = true;

    memset(c, 0, sizeof *c);
    ex_lab_model_path(lab, learner, model, judged ? ".judged.csv" : ".csv", path);
    if (!ex_file_read(path, (size_t)1 << 26, &text)) return false;
    for (at = text.data; *at; at++) rows += *at == '\n';
    c->count = rows - 1;
    c->columns = calloc((size_t)(rows > 1 ? c->count : 1) * FIELDS, sizeof *c->columns);
    at = text.data + strcspn(text.data, "\n");
    for (i = 0; ok && c->columns && i < c->count * FIELDS; i++) {
        c->columns[i % FIELDS * c->count + i / FIELDS] = strtod(at + 1, &end);
        ok = *at && end > at + 1;
        at = end;
    }
    ok = ok && c->columns && rows > 1;
    if (!ok) ex_fail("%s: not the curve of a model", path);
    ex_text_free(&text);
    return ok;
}

/* ---- rules where learners are judged ------------------------------------------------------------------------- */

static bool judge_cell(const ex_lab *lab, int32_t world, ex_marl *m, int32_t k, const char *policy, ex_pages *pages,
                       ex_cell *c)
{
    ex_balance rule[EX_BALANCES_MAX];
    rllb_env_flows_desc d;
    int32_t n = 0;

    if (!ex_marl_world(m, k, pages, &d)) return false;
    ex_cell_default(c, &d, d.horizon_s);
    c->warmup = 0; /* as learners are judged */
    c->desc.servers = lab->told[world].desc.servers;
    c->desc.balancer.guard = lab->told[world].desc.balancer.guard;
    snprintf(c->name, sizeof c->name, "%s where learners are judged", policy);
    return ex_balances_parse("policy", policy, rule, &n) == EX_OK && ex_balance_apply(&rule[0], &c->desc);
}

int ex_lab_judge_rule(ex_lab *lab, int32_t learner, const char *policy, double *mean, double *p90)
{
    const ex_lab_learner *l = &lab->learners[learner];
    ex_marl *m = ex_marl_create(&l->settings);
    int32_t k, n = judge_worlds(&l->settings);
    ex_cell *cells = calloc((size_t)n, sizeof *cells);
    ex_pages *pages = calloc((size_t)n, sizeof *pages);
    int status = m && cells && pages ? EX_GO_ON : EX_FAILED;

    for (k = 0; status == EX_GO_ON && k < n; k++) {
        if (!judge_cell(lab, l->world, m, k, policy, &pages[k], &cells[k])) status = EX_FAILED;
    }
    if (status == EX_GO_ON) status = ex_cells_run(cells, n, lab->jobs, "judging rules", lab->quiet);
    *mean = *p90 = 0;
    for (k = 0; status == EX_GO_ON && k < n; k++) {
        *mean += cells[k].value[EX_FLOW_MEAN] / n;
        *p90 += cells[k].value[EX_FLOW_P90] / n;
    }
    for (k = 0; pages && k < n; k++) ex_pages_free(&pages[k]);
    free(pages);
    if (cells) ex_cells_free(cells, n);
    if (m) ex_marl_destroy(m);
    return status;
}

/* ---- all of it ----------------------------------------------------------------------------------------------- */

bool ex_lab_open(ex_lab *lab)
{
    int32_t w;

    lab->lock.fd = -1;
    if (!ex_folder_lock(lab->out, &lab->lock)) return false;
    if (!ex_folder_make(ex_path_join(lab->out, "models").text)) return false;
    if (!ex_folder_make(ex_path_join(lab->out, "cells").text)) return false;
    for (w = 0; w < lab->world_count; w++) {
        ex_flows_how how = { .preset = lab->worlds[w].preset, .servers = lab->worlds[w].servers, .unguarded = true,
                             .weights = EX_WEIGHTS_CAPACITY };
        if (!ex_flows_open(&lab->told[w], &how)) return false;
        how.weights = EX_WEIGHTS_EQUAL;
        if (!ex_flows_open(&lab->untold[w], &how)) return false;
    }
    return true;
}

int ex_lab_work(ex_lab *lab)
{
    int status;

    ex_catch_interrupts();
    status = train_missing(lab);
    return status == EX_GO_ON ? judge_missing(lab) : status;
}

void ex_lab_close(ex_lab *lab)
{
    int32_t i;

    for (i = 0; i < lab->group_count; i++) free(lab->groups[i].values);
    for (i = 0; i < lab->traffic_count; i++) ex_pages_free(&lab->traffic[i].pages);
    for (i = 0; i < lab->world_count; i++) {
        ex_flows_close(&lab->told[i]);
        ex_flows_close(&lab->untold[i]);
    }
    free(lab->groups);
    free(lab->learners);
    free(lab->traffic);
    ex_folder_unlock(&lab->lock);
}
