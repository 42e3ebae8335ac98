/* stress_test.c - trained models against the classical policies, over the same episodes, under several kinds of traffic

   Shows how to judge a policy: many episodes, paired by their random streams, with intervals, and with the figures that
   a mean return hides: how long episodes last, how many survive, how often servers overflow, how much work is dropped.

   Build:   make build/stress_test
   Run:     build/stress_test --model out/train/model.safetensors --traffic low,high,bursty --out out/stress_test
   Prints:  a table per traffic, and who won by how much
   Writes:  results.json, stress_test.csv, stress_test.png */

#include "cluster.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS_MOST = 8, POLICIES_MOST = MODELS_MOST + RLLB_POLICY_NUM, FLOAT_BUDGET = 1 << 28 };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static ex_world world = { .mode = RLLB_ENV_HONEST };
static uint32_t traffics = 1u << RLLB_ENV_LOW | 1u << RLLB_ENV_HIGH | 1u << RLLB_ENV_BURSTY;
static int32_t episodes = 300, isa;
static uint64_t seed = 1;
static bool portable, quiet;
static const char *models_text, *out = "out/stress_test";

static ex_option options[] = {
    EX_HEADING("Options"),
    EX_STRING("model", &models_text, "FILE,...", "trained models; without one, the classical policies alone"),
    EX_CHOICE("env", &world.mode, ex_mode_names, "the cluster; given a model, that of the first one"),
    EX_CHOICES("traffic", &traffics, ex_traffic_names, "what arrives, by comma"),
    EX_STRING("trace", &world.trace_path, "FILE", "recorded load, two columns time and work; adds --traffic trace"),
    EX_LIST("rates", &world.rates, 1e-6, 1, "X,X,...", "work each server does in a step; else those of the model"),
    EX_INT("episodes", &episodes, 2, 100000, "N", "episodes for every policy under every traffic"),
    EX_SEED("seed", &seed, "of the episodes"),
    EX_CHOICE("isa", &isa, ex_isa_names, "instruction set"),
    EX_FLAG("portable", &portable, "arithmetic that gives the same bits on every machine; slower"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress"),
};

static ex_program program = { .name = "stress_test",
                              .summary = "trained balancers against the classical ones, over the same episodes",
                              .options = options, .option_count = EX_COUNT(options) };

/* ---- who takes part ---------------------------------------------------------------------------------------- */

typedef struct contest {
    ex_network models[MODELS_MOST];
    char paths[MODELS_MOST][1024], names[MODELS_MOST][64];
    ex_judged who[POLICIES_MOST]; /* models first, then the classical ones */
    int32_t model_count, count;
    rllb_env_traffic traffic[RLLB_ENV_TRAFFIC_NUM];
    int32_t traffic_count;
    ex_score scores[RLLB_ENV_TRAFFIC_NUM][POLICIES_MOST];
    int32_t best_classical[RLLB_ENV_TRAFFIC_NUM], order[RLLB_ENV_TRAFFIC_NUM][POLICIES_MOST];
    double seconds;
} contest;

static int split_paths(contest *c)
{
    const char *at = models_text;

    while (at) {
        size_t length = strcspn(at, ",");
        if (length == 0) return ex_usage("model", "an empty name in '%.60s'", models_text);
        if (length >= sizeof c->paths[0]) return ex_usage("model", "the name is too long: %.60s", at);
        if (c->model_count == MODELS_MOST) return ex_usage("model", "more than %d models", MODELS_MOST);
        snprintf(c->paths[c->model_count++], sizeof c->paths[0], "%.*s", (int)length, at);
        at = at[length] ? at + length + 1 : NULL;
    }
    return EX_OK;
}

/* "trained", or if there are several "dqn (out/a)": algorithm and folder. */
static void name_model(contest *c, int32_t i)
{
    const char *algo = c->models[i].algo[0] ? c->models[i].algo : "model";
    const char *slash = strrchr(c->paths[i], '/'), *from = c->paths[i];
    int length;

    if (c->model_count == 1) {
        snprintf(c->names[i], sizeof c->names[0], "trained_%s", algo);
        return;
    }
    length = slash ? (int)(slash - from) : (int)strlen(from);
    while (length > 0 && slash && memchr(from, '/', (size_t)length)) { /* the last folder of the path */
        from++;
        length--;
    }
    snprintf(c->names[i], sizeof c->names[0], "%s_%.*s", algo, length < 40 ? length : 40, from);
}

/* "0.05,0.1,0.15", written by train. */
static bool rates_parse(const char *text, ex_list *list)
{
    char part[64];

    list->count = 0;
    while (*text && list->count < EX_LIST_MAX) {
        size_t length = strcspn(text, ",");
        snprintf(part, sizeof part, "%.*s", (int)(length < 60 ? length : 60), text);
        if (!ex_parse_double(part, &list->values[list->count]) || list->values[list->count] < 1e-6) return false;
        list->count++;
        text += length + (text[length] == ',');
    }
    return list->count > 1;
}

/* The world is that of the first model unless the command line says otherwise. */
static int world_of_models(const contest *c)
{
    const ex_network *m = &c->models[0];
    int32_t mode;

    if (c->model_count > 0 && m->env[0] && !ex_option_given(&program, "env")) {
        mode = rllb_env_mode_of(m->env);
        if (mode < 0) return ex_fail("%s: it was trained for the cluster '%s', which is unknown", c->paths[0], m->env);
        world.mode = mode;
    }
    if (c->model_count > 0 && m->rates[0] && !ex_option_given(&program, "rates") &&
        strcmp(m->env, ex_mode_names[world.mode]) == 0 && !rates_parse(m->rates, &world.rates)) {
        return ex_fail("%s: its rates '%.60s' are none", c->paths[0], m->rates);
    }
    if (world.rates.count == 1) return ex_usage("rates", "a balancer needs two servers or more");
    return EX_OK;
}

static int models_open(contest *c)
{
    char rates[512];
    int32_t i;
    int status = models_text ? split_paths(c) : EX_OK;

    if (status != EX_OK) return status;
    if (!ex_isa_there(isa, portable)) return EX_USAGE;
    for (i = 0; i < c->model_count; i++) {
        if (!ex_network_read(c->paths[i], (rllb_nn_isa)isa, portable, &c->models[i])) return EX_FAILED;
        name_model(c, i);
    }
    status = world_of_models(c);
    if (status != EX_OK) return status;
    if (!ex_world_open(&world)) return EX_FAILED;
    ex_rates_text(world.rate, world.servers, rates);
    for (i = 0; i < c->model_count; i++) {
        const ex_network *m = &c->models[i];
        if (m->servers != world.servers) {
            return ex_fail("%s: it balances %d servers, and here are %d (rates %s)", c->paths[i], (int)m->servers,
                           (int)world.servers, rates);
        }
        if ((m->env[0] && strcmp(m->env, ex_mode_names[world.mode]) != 0) ||
            (m->rates[0] && strcmp(m->rates, rates) != 0)) {
            ex_warn("%s was trained on the %s cluster with rates %s, not on this one", c->paths[i],
                    m->env[0] ? m->env : "?", m->rates[0] ? m->rates : "?");
        }
    }
    return EX_OK;
}

static void contest_enter(contest *c)
{
    int32_t k, i;

    for (i = 0; i < c->model_count; i++) {
        c->who[c->count].name = c->names[i];
        c->who[c->count++].net = c->models[i].net;
    }
    for (k = 0; k < RLLB_POLICY_NUM; k++) {
        c->who[c->count].name = rllb_policy_name((rllb_policy_kind)k);
        c->who[c->count++].kind = (rllb_policy_kind)k;
    }
    for (k = 0; k < RLLB_ENV_TRAFFIC_NUM; k++) {
        if (traffics >> k & 1) c->traffic[c->traffic_count++] = (rllb_env_traffic)k;
    }
}

static void contest_close(contest *c)
{
    int32_t t, p, i;

    for (t = 0; t < c->traffic_count; t++) {
        for (p = 0; p < c->count; p++) ex_score_free(&c->scores[t][p]);
    }
    for (i = 0; i < c->model_count; i++) ex_network_free(&c->models[i]);
    ex_world_close(&world);
}

static bool contest_run(contest *c)
{
    double begin_s = ex_clock_s();
    ex_progress bar;
    int32_t t, p, i;

    ex_progress_start(&bar, "judging", (int64_t)c->traffic_count * c->count, quiet);
    for (t = 0; t < c->traffic_count; t++) {
        rllb_env_cluster_desc e = ex_world_desc(&world, c->traffic[t]);
        c->best_classical[t] = c->model_count;
        for (p = 0; p < c->count; p++) {
            if (!ex_judge(&e, &c->who[p], episodes, seed, EX_STREAM_JUDGE, &c->scores[t][p])) return false;
            if (p >= c->model_count && c->scores[t][p].mean_return > c->scores[t][c->best_classical[t]].mean_return) {
                c->best_classical[t] = p;
            }
            ex_progress_step(&bar, (int64_t)t * c->count + p + 1, "%s, %s", ex_traffic_names[c->traffic[t]],
                             c->who[p].name);
            for (i = p; i > 0 && c->scores[t][c->order[t][i - 1]].mean_return < c->scores[t][p].mean_return; i--) {
                c->order[t][i] = c->order[t][i - 1];
            }
            c->order[t][i] = p;
        }
    }
    c->seconds = ex_clock_s() - begin_s;
    ex_progress_end(&bar, "judged %d policies in %d episodes each under %d kinds of traffic", (int)c->count,
                    (int)episodes, (int)c->traffic_count);
    return true;
}

/* ---- telling ----------------------------------------------------------------------------------------------- */

static void print_table(const contest *c, int32_t t)
{
    ex_table table;
    int32_t i;

    memset(&table, 0, sizeof table);
    ex_table_cell(&table, "%s traffic", ex_traffic_names[c->traffic[t]]);
    ex_table_cell(&table, "return");
    ex_table_cell(&table, "\302\261 95 %%");
    ex_table_cell(&table, "dropped %%");
    ex_table_cell(&table, "overloads");
    ex_table_cell(&table, "steps");
    ex_table_cell(&table, "survival");
    ex_table_cell(&table, "mean load");
    ex_table_cell(&table, "load std");
    ex_table_cell(&table, "P99 load");
    ex_table_row(&table);
    for (i = 0; i < c->count; i++) {
        const ex_score *s = &c->scores[t][c->order[t][i]];
        ex_table_cell(&table, "%s%s", c->order[t][i] < c->model_count ? "* " : "  ", s->name);
        ex_table_cell(&table, "%.2f", s->mean_return);
        ex_table_cell(&table, "%.2f", s->return_ci95);
        ex_table_cell(&table, "%.2f", 100 * s->dropped_share);
        ex_table_cell(&table, "%.2f", s->overloads);
        ex_table_cell(&table, "%.1f", s->mean_length);
        ex_table_cell(&table, "%.3f", s->survival);
        ex_table_cell(&table, "%.3f", s->mean_load);
        ex_table_cell(&table, "%.3f", s->load_std);
        ex_table_cell(&table, "%.3f", s->p99_load);
        ex_table_row(&table);
    }
    ex_table_print(&table, stdout);
    ex_table_free(&table);
    printf("\n");
}

/* In one line: the first model against the best classical policy of each traffic, for better or worse. */
static void verdict_text(const contest *c, char *text, size_t size)
{
    size_t used = 0;
    int32_t t, p, beaten;

    if (c->model_count > 0) used = (size_t)snprintf(text, size, "%s, paired by episode: ", c->names[0]);
    for (t = 0; t < c->traffic_count && used < size; t++) {
        const ex_score *rival = &c->scores[t][c->best_classical[t]];
        const char *traffic = ex_traffic_names[c->traffic[t]], *end = t + 1 < c->traffic_count ? "; " : "";
        const char *word;
        ex_difference d;
        if (c->model_count == 0) {
            used += (size_t)snprintf(text + used, size - used, "%s: %s wins with %.2f \302\261 %.2f%s", traffic,
                                     rival->name, rival->mean_return, rival->return_ci95, end);
            continue;
        }
        d = ex_returns_differ(&c->scores[t][0], rival);
        word = d.mean > d.ci95 ? "also" : d.mean < -d.ci95 ? "loses to" : "level with";
        for (beaten = 0, p = c->model_count; p < c->count; p++) {
            ex_difference other = ex_returns_differ(&c->scores[t][0], &c->scores[t][p]);
            beaten += other.mean > other.ci95;
        }
        used += (size_t)snprintf(text + used, size - used,
                                 "%s: beats %d of %d classics, %s the best, %s (%+.2f \302\261 %.2f)%s", traffic,
                                 (int)beaten, (int)RLLB_POLICY_NUM, word, rival->name, d.mean, d.ci95, end);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_results(const contest *c)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t t, p, i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "stress_test");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    ex_json_object(&j, "settings");
    ex_json_string(&j, "env", ex_mode_names[world.mode]);
    ex_json_row_array(&j, "rates");
    for (i = 0; i < world.servers; i++) ex_json_float(&j, NULL, world.rate[i]);
    ex_json_end(&j);
    ex_json_row_array(&j, "models");
    for (i = 0; i < c->model_count; i++) ex_json_string(&j, NULL, c->paths[i]);
    ex_json_end(&j);
    ex_json_string(&j, "trace", world.trace_path);
    ex_json_int(&j, "episodes", episodes);
    ex_json_string(&j, "kernels", rllb_nn_kernels_name(rllb_nn_kernels_query((rllb_nn_isa)isa, portable)));
    ex_json_end(&j);
    ex_json_double(&j, "seconds", c->seconds);
    ex_json_array(&j, "results");
    for (t = 0; t < c->traffic_count; t++) {
        for (p = 0; p < c->count; p++) {
            const ex_score *s = &c->scores[t][p];
            ex_json_row(&j, NULL);
            ex_json_string(&j, "policy", s->name);
            ex_json_string(&j, "traffic", ex_traffic_names[c->traffic[t]]);
            ex_json_double(&j, "mean_return", s->mean_return);
            ex_json_double(&j, "return_ci95", s->return_ci95);
            ex_json_double(&j, "mean_length", s->mean_length);
            ex_json_double(&j, "survival", s->survival);
            ex_json_double(&j, "mean_load", s->mean_load);
            ex_json_double(&j, "load_std", s->load_std);
            ex_json_double(&j, "p99_load", s->p99_load);
            ex_json_double(&j, "overload_steps", s->overloads);
            ex_json_double(&j, "dropped_share", s->dropped_share);
            ex_json_bool(&j, "trained", p < c->model_count);
            ex_json_end(&j);
        }
    }
    ex_json_end(&j);
    ex_json_array(&j, "paired"); /* each model less each classical policy, over the same episodes */
    for (t = 0; t < c->traffic_count; t++) {
        for (i = 0; i < c->model_count; i++) {
            for (p = c->model_count; p < c->count; p++) {
                ex_difference r = ex_returns_differ(&c->scores[t][i], &c->scores[t][p]);
                ex_difference d = ex_dropped_differ(&c->scores[t][i], &c->scores[t][p]);
                ex_json_row(&j, NULL);
                ex_json_string(&j, "policy", c->names[i]);
                ex_json_string(&j, "against", c->who[p].name);
                ex_json_string(&j, "traffic", ex_traffic_names[c->traffic[t]]);
                ex_json_double(&j, "return_difference", r.mean);
                ex_json_double(&j, "return_difference_ci95", r.ci95);
                ex_json_double(&j, "dropped_share_difference", d.mean);
                ex_json_double(&j, "dropped_share_difference_ci95", d.ci95);
                ex_json_end(&j);
            }
        }
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

static bool write_csv(const contest *c)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t t, p;
    bool ok;

    ex_csv_header(&csv, "policy,traffic,mean_return,return_ci95,mean_length,survival,mean_load,load_std,p99_load,"
                        "overload_steps,dropped_share");
    for (t = 0; t < c->traffic_count; t++) {
        for (p = 0; p < c->count; p++) {
            const ex_score *s = &c->scores[t][p];
            ex_csv_string(&csv, s->name);
            ex_csv_string(&csv, ex_traffic_names[c->traffic[t]]);
            ex_csv_double(&csv, s->mean_return);
            ex_csv_double(&csv, s->return_ci95);
            ex_csv_double(&csv, s->mean_length);
            ex_csv_double(&csv, s->survival);
            ex_csv_double(&csv, s->mean_load);
            ex_csv_double(&csv, s->load_std);
            ex_csv_double(&csv, s->p99_load);
            ex_csv_double(&csv, s->overloads);
            ex_csv_double(&csv, s->dropped_share);
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "stress_test.csv").text);
    ex_text_free(&text);
    return ok;
}

/* A row of panels for each traffic: what it cost, and what it cost the users. Policies stand in the order of their
   returns with their names below, the trained ones in colour. Where returns differ by more than a person can see on one
   scale, it is one of powers of ten. */
enum { PANELS = 2 };

typedef struct picture {
    double values[PANELS][POLICIES_MOST], errors[POLICIES_MOST];
    char names[POLICIES_MOST][64], title[PANELS][80];
    const char *categories[POLICIES_MOST];
    ex_color colors[POLICIES_MOST];
    ex_bar_chart bars[PANELS];
} picture;

static void draw_row(const contest *c, int32_t t, picture *p, ex_panel *panels)
{
    static const char *const labels[3] = { "minus the return of an episode, with its 95 % interval",
                                           "% of the work that came", "% of the episodes" };
    bool seed0 = world.mode == RLLB_ENV_SEED0;
    double least = 0, most = 0;
    int32_t i, k;

    memset(p, 0, sizeof *p);
    for (i = 0; i < c->count; i++) {
        int32_t who = c->order[t][i];
        const ex_score *s = &c->scores[t][who];
        char *at;
        snprintf(p->names[i], sizeof p->names[0], "%s", s->name);
        for (at = p->names[i]; *at; at++) {
            if (*at == '_') *at = ' ';
        }
        p->categories[i] = p->names[i];
        p->colors[i] = who < c->model_count ? ex_palette(1) : EX_RGB(0x8FA3B5u);
        p->values[0][i] = -s->mean_return;
        p->values[1][i] = 100 * (seed0 ? s->survival : s->dropped_share);
        p->errors[i] = s->return_ci95;
        if (i == 0 || p->values[0][i] < least) least = p->values[0][i];
        if (i == 0 || p->values[0][i] > most) most = p->values[0][i];
    }
    snprintf(p->title[0], sizeof p->title[0], "%s traffic: loss, lower is better", ex_traffic_names[c->traffic[t]]);
    snprintf(p->title[1], sizeof p->title[1], "%s traffic: %s", ex_traffic_names[c->traffic[t]],
             seed0 ? "survived, higher is better" : "work dropped, lower is better");
    for (k = 0; k < PANELS; k++) {
        p->bars[k].title = p->title[k];
        p->bars[k].y.label = k == 0 ? labels[0] : labels[seed0 ? 2 : 1];
        p->bars[k].y.logarithmic = k == 0 && least > 0 && most > 20 * least;
        p->bars[k].categories = p->categories;
        p->bars[k].category_count = c->count;
        p->bars[k].values = p->values[k];
        p->bars[k].errors = k == 0 ? p->errors : NULL;
        p->bars[k].category_colors = p->colors;
        p->bars[k].value_format = k == 0 ? NULL : seed0 ? "%.0f" : "%.2f";
        panels[k].bar = &p->bars[k];
    }
}

static bool draw(const contest *c, const char *verdict)
{
    static picture rows[RLLB_ENV_TRAFFIC_NUM];
    ex_panel panels[RLLB_ENV_TRAFFIC_NUM * PANELS];
    ex_figure figure;
    char subtitle[200];
    int32_t t;

    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (t = 0; t < c->traffic_count; t++) draw_row(c, t, &rows[t], &panels[t * PANELS]);
    snprintf(subtitle, sizeof subtitle, "%s cluster, %d servers, %d episodes, the same for every policy",
             ex_mode_names[world.mode], (int)world.servers, (int)episodes);
    figure.title = c->model_count ? "The trained policy against the classics" : "The classical policies";
    figure.subtitle = subtitle;
    figure.note = verdict;
    figure.panels = panels;
    figure.panel_count = c->traffic_count * PANELS;
    figure.columns = PANELS;
    return ex_figure_write(&figure, 1440, 200 + 370 * c->traffic_count, ex_path_join(out, "stress_test.png").text);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int settle(void)
{
    if (world.trace_path) {
        if (!ex_option_given(&program, "traffic")) traffics |= 1u << RLLB_ENV_TRACE;
        else if (!(traffics >> RLLB_ENV_TRACE & 1)) return ex_usage("trace", "has no use without --traffic trace");
    } else if (traffics >> RLLB_ENV_TRACE & 1) {
        return ex_usage("traffic", "trace needs --trace FILE");
    }
    return EX_OK;
}

static int hold(contest *c)
{
    char verdict[1024];
    ex_lock lock;
    int32_t t;
    bool ok;

    if (!ex_folder_lock(out, &lock)) return EX_FAILED;
    contest_enter(c);
    ok = contest_run(c);
    if (ok) {
        verdict_text(c, verdict, sizeof verdict);
        ok = write_results(c) && write_csv(c) && draw(c, verdict);
    }
    if (ok) {
        for (t = 0; t < c->traffic_count; t++) print_table(c, t);
        printf("%s\n", verdict);
    }
    ex_folder_unlock(&lock);
    return ok ? EX_OK : EX_FAILED;
}

int main(int argc, char **argv)
{
    static contest c;
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    status = settle();
    if (status == EX_OK) status = models_open(&c);
    if (status == EX_OK && (double)episodes * world.servers * 100 > FLOAT_BUDGET) {
        status = ex_usage("episodes", "%d with %d servers are too many to keep in memory", (int)episodes,
                          (int)world.servers);
    }
    if (status == EX_OK) status = hold(&c);
    contest_close(&c);
    return status;
}
