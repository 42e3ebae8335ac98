/* marl_eval.c - learned policies against all others in the flow-level world, paired by seed

   A model is put before requests that it has not seen in training, and all the policies of the simulator before the
   same ones, seed by seed. Models are told nothing of the servers, whatever the others are told: --weights is for the
   others, and with --told those that go by weights run a second time, told the true capacities ("sed+told"), which is
   what a model that was told nothing would have to find out.

   Build:   make build/marl_eval
   Run:     build/marl_eval --model out/qmix/model.safetensors --preset degraded --balancers 1,2 --policies all --told
            build/marl_eval --preset fleet --events heal.csv --series      (the model that ships with rllb)
   Prints:  a table for each rate and number of balancers: job completion times with their intervals, and how far each
            policy is from the best of those that did not learn; with --told how much of the gap each model closes
   Writes:  results.json (rows as simulate has them, policy "learned:NAME"), marl_eval.csv, series.csv, boxes.png, for
            several settings sweep.png; with --series weights.csv and weights.png: who is sent how much, and what
            becomes of it, over time */

#include "contest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS_MOST = 12, NAME_BYTES = 48, BOXES_MOST = 11, PANELS_MOST = 6, COLUMNS_MOST = 4 };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static const char *models_text, *names_text, *policies_text = "all", *against_text;
static int32_t guards, model_weights = EX_WEIGHTS_EQUAL;
static bool told, series;
static ex_program program;

static ex_contest race = {
    .program = &program,
    .how = { .preset = RLLB_ENV_PRESET_MODERATE },
    .out = "out/marl_eval",
    .seeds = 10,
    .seed = 1,
    .duration_s = 120,
    .warmup = 0.1,
};

static ex_option options[] = {
    EX_HEADING("Models"),
    EX_STRING("model", &models_text, "FILE,...", "policies as marl_train leaves them; default: the one that ships"),
    EX_STRING("name", &names_text, "NAME,...", "what they are called; default: as their files"),
    EX_CHOICE("model-weights", &model_weights, ex_weights_names, "what models are told of the servers"),
    EX_HEADING("The world"),
    EX_CHOICE("preset", &race.how.preset, ex_preset_names, "servers, work and arrivals to begin with, see rllb_env.h"),
    EX_INT("servers", &race.how.servers, 1, 4096, "N", "that many, those of the preset over and over"),
    EX_LIST("rates", &race.rates, 1e-6, 1e9, "R,R,...", "flows per second; default: that of the preset"),
    EX_LIST("loads", &race.loads, 1e-6, 100, "L,L,...", "the same as a share of what the servers can do"),
    EX_INT_LIST("balancers", &race.balancers, 1, 1024, "M,M,...",
                "how many share the flows; default: as in the preset"),
    EX_STRING("trace", &race.how.trace_path, "FILE",
              "arrivals as recorded: requests with their work, or amounts over time"),
    EX_DOUBLE("round", &race.how.round_s, 1e-3, 1e9, "S", "seconds that a trace of amounts takes; default: --duration"),
    EX_STRING("events", &race.how.events_path, "FILE", "table of time_s,event,server,value: what happens to servers"),
    EX_HEADING("The others"),
    EX_STRING("policies", &policies_text, "P,P,...", "by name, or all; draw(d,a,gamma) and so on, as in simulate"),
    EX_CHOICE("weights", &race.how.weights, ex_weights_names, "what they are told of the servers"),
    EX_FLAG("told", &told, "those that go by weights also run told the true capacities"),
    EX_STRING("against", &against_text, "P", "differences are to that one; default: sed+told, else the best"),
    EX_CHOICE("guards", &guards, ex_switch_names, "the balancer's guard rails; off: plain rules"),
    EX_HEADING("Runs"),
    EX_INT("seeds", &race.seeds, 1, EX_SEEDS_MOST, "N", "runs of every setting"),
    EX_SEED("seed", &race.seed, "the first of the seeds"),
    EX_DOUBLE("duration", &race.duration_s, 1, 1e7, "S",
              "seconds of a run; default for a trace of requests: its length"),
    EX_DOUBLE("warmup", &race.warmup, 0, 0.95, "X", "share of the run that is left out at its start"),
    EX_FLAG("series", &series, "weights and shares of the servers over time as well"),
    EX_INT("jobs", &race.jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),
    EX_STRING("out", &race.out, "DIR", "folder for the results"),
    EX_FLAG("no-pictures", &race.no_pictures, "numbers only"),
    EX_FLAG("quiet", &race.quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "marl_eval",
    .summary = "learned policies against all others in the flow-level world",
    .details = "Arrivals are those of simulate with the same seed; training never sees them.\n"
               "Policies and events are written as for simulate (see its --help).\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- who takes part ---------------------------------------------------------------------------------------- */

/* Item i of a list by commas; false: there is none, or it is empty or too long. */
static bool list_item(const char *text, int32_t i, char *out, size_t size)
{
    size_t length;

    for (; text && i > 0; i--) {
        text = strchr(text, ',');
        if (text) text++;
    }
    if (!text) return false;
    length = strcspn(text, ",");
    if (length == 0 || length >= size) return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static int32_t list_count(const char *text)
{
    int32_t count = 1;

    for (; *text; text++) count += *text == ',';
    return count;
}

/* A name stands in tables, files and on pictures. */
static int check_name(const char *name)
{
    size_t i;

    for (i = 0; name[i] > ' ' && name[i] <= '~' && name[i] != '"'; i++) {}
    return name[i] ? ex_usage("name", "'%s' has what a name should not", name) : EX_OK;
}

static int take_model(ex_contest *c, const char *path, const char *name)
{
    ex_balance *b = &c->policies[c->policy_count];
    ex_model *m = ex_model_shelf(path);
    int32_t i;

    if (!m) return EX_FAILED;
    ex_balance_learned(b, m, name);
    for (i = 0; i < c->policy_count; i++) {
        if (strcmp(c->policies[i].name, b->name) != 0) continue;
        return ex_usage("name", "two models are called %s: tell them apart", b->name + strlen("learned:"));
    }
    c->policy_count++;
    return EX_OK;
}

/* The models come first. */
static int take_models(ex_contest *c)
{
    int32_t count = models_text ? list_count(models_text) : 1, i;
    char path[512], name[NAME_BYTES];
    int status = EX_OK;

    if (count > MODELS_MOST) return ex_usage("model", "more than %d models", MODELS_MOST);
    if (names_text && list_count(names_text) != count) {
        return ex_usage("name", "%d names for %d models", (int)list_count(names_text), (int)count);
    }
    for (i = 0; i < count && status == EX_OK; i++) {
        if (models_text && !list_item(models_text, i, path, sizeof path)) {
            return ex_usage("model", "file %d of the list has no name, or too long a one", (int)i + 1);
        }
        if (names_text && !list_item(names_text, i, name, sizeof name)) {
            return ex_usage("name", "name %d of the list is empty, or longer than %d", (int)i + 1, NAME_BYTES - 1);
        }
        if (names_text) status = check_name(name);
        if (status == EX_OK) status = take_model(c, models_text ? path : NULL, names_text ? name : NULL);
    }
    return status;
}

/* Then all others, then those that are told. */
static int take_others(ex_contest *c)
{
    static ex_balance others[EX_BALANCES_MAX];
    int32_t count, i;
    int status = ex_balances_parse("policies", policies_text, others, &count);

    for (i = 0; i < count && status == EX_OK; i++) {
        if (others[i].model) status = ex_usage("policies", "%s is a model: give its file with --model", others[i].name);
        else if (c->policy_count == EX_BALANCES_MAX) status = ex_usage("policies", "more than %d", EX_BALANCES_MAX);
        else c->policies[c->policy_count++] = others[i];
    }
    for (i = 0; i < count && status == EX_OK && told; i++) {
        ex_balance *b = &c->policies[c->policy_count];
        if (!ex_balance_by_weights(&others[i])) continue;
        if (c->policy_count == EX_BALANCES_MAX) return ex_usage("told", "more than %d policies", EX_BALANCES_MAX);
        *b = others[i];
        snprintf(b->name, sizeof b->name, "%.58s+told", others[i].name);
        c->policy_count++;
    }
    return status;
}

static bool is_told(const ex_balance *b)
{
    size_t n = strlen(b->name);

    return !b->model && n > 5 && strcmp(b->name + n - 5, "+told") == 0;
}

/* What each hears of the servers. */
static void tell(ex_contest *c)
{
    int32_t i;

    for (i = 0; i < c->policy_count; i++) {
        ex_balance *b = &c->policies[i];
        if (b->model) b->servers = c->world.servers[model_weights];
        else if (is_told(b)) b->servers = c->world.servers[EX_WEIGHTS_CAPACITY];
    }
}

/* Does each model fit each number of balancers? Before anything is run. */
static int check_fit(const ex_contest *c)
{
    int32_t i, s;
    char why[200];

    for (i = 0; i < c->policy_count && c->policies[i].model; i++) {
        for (s = 0; s < c->balancers.count || s == 0; s++) {
            rllb_env_flows_desc d = c->world.desc;
            if (c->balancers.count > 0) d.balancers = (int32_t)c->balancers.values[s];
            if (!ex_model_fits(c->policies[i].model, &d, why)) return ex_usage("model", "%s", why);
        }
    }
    return EX_OK;
}

static int32_t policy_of(const ex_contest *c, const char *name)
{
    int32_t i;

    for (i = 0; i < c->policy_count && strcmp(c->policies[i].name, name) != 0; i++) {}
    return i < c->policy_count ? i : -1;
}

static int check_against(const ex_contest *c)
{
    if (!against_text || policy_of(c, against_text) >= 0) return EX_OK;
    return ex_usage("against", "'%.60s' does not take part", against_text);
}

/* ---- figures ----------------------------------------------------------------------------------------------- */

static const ex_flow_figure compared[] = { EX_FLOW_MEAN, EX_FLOW_P50, EX_FLOW_P90, EX_FLOW_P99 };
static const char *const compared_names[] = { "mean", "P50", "P90", "P99" };

/* The policy with the least of a figure among those that neither learned nor see too much; also_told: those that were
   told as well. -1: there is none. */
static int32_t best_other(const ex_contest *c, int32_t s, ex_flow_figure figure, bool also_told)
{
    double least = HUGE_VAL;
    int32_t best = -1, i;

    for (i = 0; i < c->policy_count; i++) {
        const ex_balance *b = &c->policies[i];
        double value = ex_contest_figure(c, s, i, figure).mean;
        if (b->model || b->oracle || (!also_told && is_told(b)) || !(value < least)) continue;
        least = value;
        best = i;
    }
    return best;
}

/* Whom all others are held against. */
static int32_t reference_of(const ex_contest *c, int32_t s)
{
    int32_t best = policy_of(c, against_text ? against_text : "sed+told");

    if (best < 0) best = best_other(c, s, EX_FLOW_MEAN, true);
    return best >= 0 ? best : 0;
}

/* Who is shown over time: the first models, and the best of the others. Answers how many. */
static int32_t choose_shown(const ex_contest *c, int32_t s, int32_t shown[COLUMNS_MOST])
{
    int32_t other = best_other(c, s, EX_FLOW_MEAN, true), count = 0, i;

    for (i = 0; i < c->policy_count && c->policies[i].model && count < COLUMNS_MOST - 1; i++) shown[count++] = i;
    if (other >= 0) shown[count++] = other;
    return count;
}

/* How far policy p is from policy `from`, paired by seed, as a share of what that one has. */
static ex_estimate share_apart(const ex_contest *c, int32_t s, int32_t p, int32_t from, ex_flow_figure figure)
{
    ex_estimate e = ex_cells_differ(ex_contest_runs(c, s, p), ex_contest_runs(c, s, from), c->seeds, figure);
    double whole = ex_contest_figure(c, s, from, figure).mean;

    e.mean /= whole;
    e.low /= whole;
    e.high /= whole;
    return e;
}

/* The part of the way from the best policy that was not told to the reference that a model has gone. NaN: no way. */
static double gap_closed(const ex_contest *c, int32_t s, int32_t model, ex_flow_figure figure, int32_t *from)
{
    int32_t to = reference_of(c, s);
    double far, near;

    *from = best_other(c, s, figure, false);
    if (*from < 0) return (double)NAN;
    far = ex_contest_figure(c, s, *from, figure).mean;
    near = ex_contest_figure(c, s, to, figure).mean;
    return far > 1.02 * near ? (far - ex_contest_figure(c, s, model, figure).mean) / (far - near) : (double)NAN;
}

/* ---- after an event ---------------------------------------------------------------------------------------- */

/* What a server is sent after something has happened to it, in shares of n servers alike. */
typedef struct answer {
    double before, fair; /* in the ten seconds before, as long as they were calm; its part of what capacity is left */
    double seconds;      /* until the mean of a second is as near to that as a fifth of it (or 0.1); NaN: never */
} answer;

/* The part of its power that a server has after an event. */
static double power_after(const rllb_env_event *e)
{
    switch (e->kind) {
    case RLLB_ENV_EVENT_SPEED: return e->value;
    case RLLB_ENV_EVENT_FAIL: return 1 - e->value;
    case RLLB_ENV_EVENT_LEAVE: return 0;
    default: return 1;
    }
}

static bool concerns(const rllb_env_event *e, int32_t server)
{
    return e->kind != RLLB_ENV_EVENT_RATE && e->server == server;
}

/* The fair share of the server that event `number` names, once that event is there. */
static double fair_share(const ex_contest *c, int32_t number)
{
    const rllb_env_flows_desc *d = &c->world.desc;
    double all = 0, own = 0;
    int32_t i, e;

    for (i = 0; i < d->count; i++) {
        double power = d->servers[i].absent ? 0 : 1;
        for (e = 0; e <= number; e++) {
            if (concerns(&d->events[e], i)) power = power_after(&d->events[e]);
        }
        power *= d->servers[i].cpus * (double)d->servers[i].speed;
        all += power;
        if (i == d->events[number].server) own = power;
    }
    return all > 0 ? own * d->count / all : (double)NAN;
}

/* Mean share of a line over the bins in (from_s, to_s]. */
static double share_between(const ex_contest *c, int32_t s, int32_t p, int32_t line, double from_s, double to_s)
{
    const ex_cell *cell = ex_contest_runs(c, s, p);
    double sum = 0;
    int32_t there = 0, b = (int32_t)ceil(fmax(from_s, 0) / cell->bin_s - 1e-9);

    for (; b < cell->bins && (b + 1) * cell->bin_s <= to_s + 1e-9; b++) {
        double value = ex_contest_series(c, s, p, EX_COLUMN_SHARE + line, b);
        if (!isfinite(value)) continue;
        sum += value;
        there++;
    }
    return there > 0 ? sum / there : (double)NAN;
}

/* When something happened to that server before (0: never), and when it does so again (or the end). */
static void calm_around(const ex_contest *c, int32_t number, double *since_s, double *until_s)
{
    const rllb_env_event *events = c->world.desc.events;
    int32_t e;

    *since_s = 0;
    *until_s = c->duration_s;
    for (e = c->world.desc.event_count - 1; e > number; e--) {
        if (concerns(&events[e], events[number].server)) *until_s = fmin(events[e].at_s, c->duration_s);
    }
    for (e = 0; e < number; e++) {
        if (concerns(&events[e], events[number].server)) *since_s = events[e].at_s;
    }
}

static answer answer_of(const ex_contest *c, int32_t s, int32_t p, int32_t number, int32_t line)
{
    double at_s = c->world.desc.events[number].at_s, since_s, until_s, end_s, near;
    double bin_s = ex_contest_runs(c, s, p)->bin_s;
    answer a;

    calm_around(c, number, &since_s, &until_s);
    a.before = share_between(c, s, p, line, fmax(at_s - 10, (since_s + at_s) / 2), at_s);
    a.fair = fair_share(c, number);
    a.seconds = (double)NAN;
    near = fmax(0.2 * a.fair, 0.1);
    for (end_s = at_s + fmax(1, bin_s); end_s <= until_s + 1e-9; end_s += bin_s) {
        double share = share_between(c, s, p, line, end_s - fmax(1, bin_s), end_s);
        if (a.before > a.fair ? !(share <= a.fair + near) : !(share >= a.fair - near)) continue;
        a.seconds = end_s - at_s;
        break;
    }
    return a;
}

/* The line that has only the server of an event; -1: it is none of those that stand alone. */
static int32_t line_of(const ex_contest *c, int32_t number)
{
    const rllb_env_event *e = &c->world.desc.events[number];
    ex_group lines[EX_LINES_MAX];
    int32_t *of = malloc((size_t)c->world.desc.count * sizeof *of), line = -1;

    if (of && e->kind != RLLB_ENV_EVENT_RATE && e->at_s < c->duration_s) {
        ex_flows_lines(&c->world.desc, lines, of);
        line = of[e->server];
        if (strncmp(lines[line].name, "server ", 7) != 0) line = -1;
    }
    free(of);
    return line;
}

/* ---- tables ------------------------------------------------------------------------------------------------ */

/* "+1.2 ± 0.3" percent. */
static void cell_percent(ex_table *t, ex_estimate e)
{
    if (!isfinite(e.mean)) ex_table_cell(t, "-");
    else if (isfinite(e.low)) ex_table_cell(t, "%+.1f \302\261 %.1f", 100 * e.mean, 50 * (e.high - e.low));
    else ex_table_cell(t, "%+.1f", 100 * e.mean);
}

static void table_heading(ex_table *t)
{
    int32_t i;

    ex_table_cell(t, "policy");
    for (i = 0; i < EX_COUNT(compared); i++) ex_table_cell(t, "%s", compared_names[i]);
    for (i = 0; i < EX_COUNT(compared); i++) {
        if (compared[i] != EX_FLOW_P50) ex_table_cell(t, "%s, %%", compared_names[i]);
    }
    ex_table_cell(t, "lost %%");
    ex_table_row(t);
}

/* Servers report to it: more than a balancer sees by itself, though not what it could not have. */
static bool hears(const ex_balance *b)
{
    rllb_balance p = b->desc.policy;

    return !b->model && (p == RLLB_BALANCE_AWCMP || p == RLLB_BALANCE_C3 || p == RLLB_BALANCE_PREQUAL);
}

static void table_row(const ex_contest *c, ex_table *t, int32_t s, int32_t p, int32_t reference)
{
    const ex_balance *b = &c->policies[p];
    double lost = ex_contest_lost(c, s, p);
    int32_t i;

    ex_table_cell(t, "%s%s", b->name, b->oracle ? " *" : hears(b) ? " ~" : "");
    for (i = 0; i < EX_COUNT(compared); i++) ex_table_interval(t, ex_contest_figure(c, s, p, compared[i]), false);
    for (i = 0; i < EX_COUNT(compared); i++) {
        if (compared[i] == EX_FLOW_P50) continue;
        if (p == reference) ex_table_cell(t, "0");
        else cell_percent(t, share_apart(c, s, p, reference, compared[i]));
    }
    if (isfinite(lost)) ex_table_cell(t, "%.3f", 100 * lost);
    else ex_table_cell(t, "-");
    ex_table_row(t);
}

/* What a model makes of one figure, in a line. */
static void print_gap(const ex_contest *c, int32_t s, int32_t model, int32_t i)
{
    int32_t to = reference_of(c, s), from;
    double closed = gap_closed(c, s, model, compared[i], &from), far, near, here;

    if (from < 0) return;
    far = 1000 * ex_contest_figure(c, s, from, compared[i]).mean;
    near = 1000 * ex_contest_figure(c, s, to, compared[i]).mean;
    here = 1000 * ex_contest_figure(c, s, model, compared[i]).mean;
    printf("%s: %s %.1f ms; %s, the best that is not told, %.1f; %s %.1f", c->policies[model].name, compared_names[i],
           here, c->policies[from].name, far, c->policies[to].name, near);
    if (closed >= 0) printf(": %.0f %% of the way", 100 * closed);
    printf("\n");
}

static void print_gaps(const ex_contest *c, int32_t s)
{
    int32_t p, i;

    if (!is_told(&c->policies[reference_of(c, s)])) return;
    for (p = 0; p < c->policy_count && c->policies[p].model; p++) {
        for (i = 0; i < EX_COUNT(compared); i++) {
            if (compared[i] != EX_FLOW_P50) print_gap(c, s, p, i);
        }
    }
}

/* Of each event, and whoever is in the picture. */
static void print_answers(const ex_contest *c, int32_t s)
{
    int32_t shown[COLUMNS_MOST], count = choose_shown(c, s, shown), e, i, line;
    const rllb_env_event *events = c->world.desc.events;
    ex_table t = { 0 };

    ex_table_cell(&t, "event");
    ex_table_cell(&t, "policy");
    ex_table_cell(&t, "share before");
    ex_table_cell(&t, "fair from then on");
    ex_table_cell(&t, "there after, s");
    ex_table_row(&t);
    for (e = 0; e < c->world.desc.event_count; e++) {
        line = line_of(c, e);
        for (i = 0; i < count && line >= 0; i++) {
            answer a = answer_of(c, s, shown[i], e, line);
            ex_table_cell(&t, "%g s: %s of server %d", events[e].at_s, rllb_env_event_name(events[e].kind),
                          (int)events[e].server);
            ex_table_cell(&t, "%s", c->policies[shown[i]].name);
            ex_table_cell(&t, "%.2f", a.before);
            ex_table_cell(&t, "%.2f", a.fair);
            if (isfinite(a.seconds)) ex_table_cell(&t, "%.1f", a.seconds);
            else ex_table_cell(&t, "-");
            ex_table_row(&t);
        }
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static void print_models(const ex_contest *c)
{
    int32_t i;

    for (i = 0; i < c->policy_count && c->policies[i].model; i++) {
        const ex_model *m = c->policies[i].model;
        printf("%s: %s", c->policies[i].name, m->path);
        if (m->info.algorithm[0]) printf(", %s", m->info.algorithm);
        if (m->info.preset[0]) printf(", trained on %s", m->info.preset);
        if (m->info.episodes > 0) {
            printf(", %lld episode%s", (long long)m->info.episodes, m->info.episodes == 1 ? "" : "s");
        }
        printf("\n");
    }
    printf("told of the servers: models %s, others %s%s\n", ex_weights_names[model_weights],
           ex_weights_names[c->how.weights], told ? ", +told: the true capacities" : "");
}

static void print_results(const ex_contest *c)
{
    int32_t order[EX_BALANCES_MAX], s, p;
    bool oracles = false, reports = false;
    char text[160];

    ex_contest_print_world(c);
    print_models(c);
    for (s = 0; s < c->setting_count; s++) {
        int32_t reference = reference_of(c, s);
        ex_table table = { 0 };
        ex_contest_text(c, s, text, sizeof text);
        printf("\n%s; differences to %s\n", text, c->policies[reference].name);
        ex_contest_order(c, s, order);
        table_heading(&table);
        for (p = 0; p < c->policy_count; p++) table_row(c, &table, s, order[p], reference);
        ex_table_print(&table, stdout);
        ex_table_free(&table);
        print_gaps(c, s);
        if (series && c->world.desc.event_count > 0) print_answers(c, s);
    }
    for (p = 0; p < c->policy_count; p++) {
        oracles = oracles || c->policies[p].oracle;
        reports = reports || hears(&c->policies[p]);
    }
    printf("\nmean to P99: job completion time in ms%s\n"
           "lost: rejected, failed, timed out%s%s\n",
           c->seeds > 1 ? ", with 95 % intervals over seeds; differences are paired by seed" : "",
           oracles ? "; *: sees what no balancer sees" : "", reports ? "; ~: servers report to it" : "");
    if (series && c->world.desc.event_count > 0) {
        printf("shares: of the flows, 1 being what each would get if all were alike; there: as near as a fifth of the\n"
               "fair share (or 0.1), by the mean of a second\n");
    }
    printf("in %s: results.json marl_eval.csv series.csv%s%s\n", c->out, series ? " weights.csv" : "",
           c->no_pictures ? "" : " and pictures");
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static void json_models(const ex_contest *c, ex_json *j)
{
    int32_t i;

    ex_json_array(j, "models");
    for (i = 0; i < c->policy_count && c->policies[i].model; i++) {
        const ex_model_info *info = &c->policies[i].model->info;
        ex_json_row(j, NULL);
        ex_json_string(j, "policy", c->policies[i].name);
        ex_json_string(j, "path", c->policies[i].model->path);
        ex_json_string(j, "algorithm", info->algorithm);
        ex_json_string(j, "preset", info->preset);
        ex_json_int(j, "episodes", info->episodes);
        ex_json_uint(j, "seed", info->seed);
        ex_json_string(j, "features", ex_features_names[info->features]);
        ex_json_bool(j, "control_form", info->control_form);
        ex_json_bool(j, "control_steps", info->control_steps);
        ex_json_double(j, "spread", (double)info->spread);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static void json_comparison(const ex_contest *c, ex_json *j, int32_t s, int32_t p)
{
    int32_t reference = reference_of(c, s), i, from;
    char key[32];

    ex_json_object(j, NULL);
    ex_json_string(j, "policy", c->policies[p].name);
    ex_json_string(j, "against", c->policies[reference].name);
    ex_json_double(j, "rate", c->settings[s].rate);
    ex_json_int(j, "balancers", c->settings[s].balancers);
    for (i = 0; i < EX_COUNT(compared); i++) {
        ex_json_estimate(j, ex_flow_keys[compared[i]], share_apart(c, s, p, reference, compared[i]));
    }
    for (i = 0; i < EX_COUNT(compared) && c->policies[p].model && is_told(&c->policies[reference]); i++) {
        snprintf(key, sizeof key, "%s_gap_closed", ex_flow_keys[compared[i]]);
        ex_json_double(j, key, gap_closed(c, s, p, compared[i], &from));
    }
    ex_json_end(j);
}

static void json_events(const ex_contest *c, ex_json *j)
{
    const rllb_env_event *events = c->world.desc.events;
    int32_t s, p, e, line;

    ex_json_array(j, "events");
    for (e = 0; series && e < c->world.desc.event_count; e++) {
        line = line_of(c, e);
        for (s = 0; s < c->setting_count && line >= 0; s++) {
            for (p = 0; p < c->policy_count; p++) {
                answer a = answer_of(c, s, p, e, line);
                ex_json_row(j, NULL);
                ex_json_string(j, "policy", c->policies[p].name);
                ex_json_double(j, "rate", c->settings[s].rate);
                ex_json_int(j, "balancers", c->settings[s].balancers);
                ex_json_double(j, "at_s", events[e].at_s);
                ex_json_string(j, "event", rllb_env_event_name(events[e].kind));
                ex_json_int(j, "server", events[e].server);
                ex_json_double(j, "share_before", a.before);
                ex_json_double(j, "share_fair", a.fair);
                ex_json_double(j, "seconds", a.seconds);
                ex_json_end(j);
            }
        }
    }
    ex_json_end(j);
}

static bool write_results(const ex_contest *c)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t s, p;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", program.name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_contest_json_settings(c, &j);
    ex_json_string(&j, "model_weights", ex_weights_names[model_weights]);
    ex_json_bool(&j, "told", told);
    ex_json_end(&j);
    json_models(c, &j);
    ex_contest_json_world(c, &j);
    ex_contest_json_results(c, &j);
    ex_json_array(&j, "comparison"); /* paired by seed, as shares of what the one that they are held against has */
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) json_comparison(c, &j, s, p);
    }
    ex_json_end(&j);
    json_events(c, &j); /* with --series: what became of a server's share of the flows */
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(c->out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* Weights and shares, a row for each bin and line. */
static bool write_weights(const ex_contest *c)
{
    ex_group lines[EX_LINES_MAX];
    int32_t line_count = ex_flows_lines(&c->world.desc, lines, NULL), s, p, b, i;
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    bool ok;

    ex_csv_header(&csv, "policy,rate,balancers,time_s,servers,count,weight,share");
    for (s = 0; s < c->setting_count; s++) {
        for (p = 0; p < c->policy_count; p++) {
            const ex_cell *cell = ex_contest_runs(c, s, p);
            for (b = 0; b < cell->bins; b++) {
                for (i = 0; i < line_count; i++) {
                    ex_csv_string(&csv, c->policies[p].name);
                    ex_csv_double(&csv, c->settings[s].rate);
                    ex_csv_int(&csv, c->settings[s].balancers);
                    ex_csv_double(&csv, (b + 1) * cell->bin_s);
                    ex_csv_string(&csv, lines[i].name);
                    ex_csv_int(&csv, lines[i].servers);
                    ex_csv_double(&csv, ex_contest_series(c, s, p, EX_COLUMN_WEIGHT + i, b));
                    ex_csv_double(&csv, ex_contest_series(c, s, p, EX_COLUMN_SHARE + i, b));
                    ex_csv_row(&csv);
                }
            }
        }
    }
    ok = ex_text_write(&text, ex_path_join(c->out, "weights.csv").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* All models, and of the others those with the least means: from the least to the greatest. */
static int32_t choose_boxes(const ex_contest *c, int32_t s, int32_t chosen[EX_BALANCES_MAX])
{
    int32_t order[EX_BALANCES_MAX], models = 0, count = 0, others = 0, i;

    for (i = 0; i < c->policy_count; i++) models += c->policies[i].model != NULL;
    ex_contest_order(c, s, order);
    for (i = 0; i < c->policy_count; i++) {
        bool model = c->policies[order[i]].model != NULL;
        if (!model && others >= BOXES_MOST - (models < BOXES_MOST - 3 ? models : BOXES_MOST - 3)) continue;
        others += !model;
        chosen[count++] = order[i];
    }
    return count;
}

/* Settings first ... first + count - 1, a panel each. */
static bool draw_boxes(const ex_contest *c, int32_t first, int32_t count, const char *file)
{
    static ex_boxes boxes[PANELS_MOST];
    static char titles[PANELS_MOST][160];
    int32_t chosen[EX_BALANCES_MAX], i, k, shown = 0;
    ex_panel panels[PANELS_MOST];
    ex_figure figure;
    char note[480];
    bool ok = true;

    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; i < count && ok; i++) {
        shown = choose_boxes(c, first + i, chosen);
        ok = ex_contest_boxes(c, first + i, chosen, shown, &boxes[i]);
        for (k = 0; k < shown; k++) {
            if (is_told(&c->policies[chosen[k]])) boxes[i].colors[k] = ex_palette(2);
        }
        ex_contest_text(c, first + i, titles[i], sizeof titles[i]);
        boxes[i].chart.title = titles[i];
        panels[i].box = &boxes[i].chart;
    }
    snprintf(note, sizeof note, "%s Of %d policies the learned ones (orange), and the others with the least means%s.",
             ex_boxes_note, (int)c->policy_count, told ? "; green: told the true capacities" : "");
    figure.title = "Job completion times";
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = count;
    figure.columns = count > 1 ? 2 : 1;
    ok = ok && ex_figure_write(&figure, count > 1 ? 1600 : 1200, 160 + 560 * ((count + 1) / 2),
                               ex_path_join(c->out, file).text);
    for (k = 0; k < i; k++) free(boxes[k].all);
    return ok;
}

static bool draw_all_boxes(const ex_contest *c)
{
    char file[32];
    int32_t s;
    bool ok = true;

    for (s = 0; s < c->setting_count && ok; s += PANELS_MOST) {
        int32_t left = c->setting_count - s;
        if (s == 0) snprintf(file, sizeof file, "boxes.png");
        else snprintf(file, sizeof file, "boxes_%d.png", (int)(s / PANELS_MOST + 1));
        ok = draw_boxes(c, s, left < PANELS_MOST ? left : PANELS_MOST, file);
    }
    return ok;
}

/* A column of the picture: one policy. Rows: weights, shares, job completion times. */
typedef struct strip {
    ex_series weights[EX_LINES_MAX], shares[EX_LINES_MAX], times[2];
    ex_line_chart charts[3];
    char titles[3][120];
} strip;

static const char *line_name(const ex_contest *c, const ex_group *g, char text[64])
{
    double all = 0;
    int32_t i;

    for (i = 0; i < c->group_count; i++) all += c->groups[i].servers * c->groups[i].cpus * c->groups[i].speed;
    snprintf(text, 64, "%s (%.2f)", g->name, g->cpus * g->speed * c->world.desc.count / all);
    return text;
}

/* One series of the picture; at: the room for its values. Answers the room that is left. */
static double *fill(const ex_contest *c, int32_t s, int32_t p, int32_t column, double unit, ex_series *to, double *x,
                    double *at)
{
    const ex_cell *cell = ex_contest_runs(c, s, p);
    int32_t b;

    to->x = x;
    to->y = at;
    to->count = cell->bins;
    to->width = 1.8;
    for (b = 0; b < cell->bins; b++) *at++ = unit * ex_contest_series(c, s, p, column, b);
    return at;
}

/* Job completion times may lie far apart. */
static void settle_times(strip *to)
{
    double least = HUGE_VAL, most = 0;
    int32_t i, k;

    for (k = 0; k < to->charts[2].series_count; k++) {
        for (i = 0; i < to->times[k].count; i++) {
            double y = to->times[k].y[i];
            if (y > 0 && y < least) least = y;
            if (y > most) most = y;
        }
    }
    ex_axis_settle(&to->charts[2].y, least, most, 30);
}

static double *fill_strip(const ex_contest *c, int32_t s, int32_t p, int32_t other, strip *to, double *x, double *at)
{
    static char names[EX_LINES_MAX][64];
    ex_group lines[EX_LINES_MAX];
    int32_t count = ex_flows_lines(&c->world.desc, lines, NULL), i;
    const char *name = c->policies[p].name;

    for (i = 0; i < count; i++) {
        at = fill(c, s, p, EX_COLUMN_WEIGHT + i, 1, &to->weights[i], x, at);
        at = fill(c, s, p, EX_COLUMN_SHARE + i, 1, &to->shares[i], x, at);
        to->weights[i].name = line_name(c, &lines[i], names[i]); /* colours say it below */
        to->weights[i].color = to->shares[i].color = ex_palette(i);
    }
    if (other >= 0 && other != p) {
        at = fill(c, s, other, EX_COLUMN_MEAN, 1000, &to->times[1], x, at);
        to->times[1].name = c->policies[other].name;
        to->times[1].color = EX_RGB(0xA0A8B0u);
    }
    at = fill(c, s, p, EX_COLUMN_MEAN, 1000, &to->times[0], x, at);
    to->times[0].name = name;
    snprintf(to->titles[0], sizeof to->titles[0], "%s: weights in force", name);
    snprintf(to->titles[1], sizeof to->titles[1], "%s: flows sent", name);
    snprintf(to->titles[2], sizeof to->titles[2], "%s: job completion time, ms", name);
    for (i = 0; i < 3; i++) {
        to->charts[i].title = to->titles[i];
        to->charts[i].series = i == 0 ? to->weights : i == 1 ? to->shares : to->times;
        to->charts[i].series_count = i < 2 ? count : other >= 0 && other != p ? 2 : 1;
        to->charts[i].x.label = i == 2 ? "time, s" : NULL;
        to->charts[i].y.from_zero = true;
    }
    settle_times(to);
    return at;
}

/* What happened, as far as it fits. */
static void events_text(const ex_contest *c, char *text, size_t size)
{
    const rllb_env_flows_desc *d = &c->world.desc;
    size_t used = 0;
    int32_t i;

    text[0] = '\0';
    for (i = 0; i < d->event_count && i < 6 && used + 80 < size; i++) {
        const rllb_env_event *e = &d->events[i];
        used += (size_t)snprintf(text + used, size - used, "%s%g s: %s", i ? "; " : " Events: ", e->at_s,
                                 rllb_env_event_name(e->kind));
        if (e->kind != RLLB_ENV_EVENT_RATE) {
            used += (size_t)snprintf(text + used, size - used, " of server %d", (int)e->server);
        }
        if (e->value > 0) used += (size_t)snprintf(text + used, size - used, ", %g", e->value);
    }
    if (used > 0) snprintf(text + used, size - used, "%s", i < d->event_count ? "; and more." : ".");
}

static bool draw_weights(const ex_contest *c, int32_t s)
{
    static strip strips[COLUMNS_MOST];
    const ex_cell *cell = ex_contest_runs(c, s, 0);
    int32_t other = best_other(c, s, EX_FLOW_MEAN, true), shown[COLUMNS_MOST], count = choose_shown(c, s, shown), i, k;
    double *x = malloc((size_t)cell->bins * (1 + COLUMNS_MOST * (2 * EX_LINES_MAX + 2)) * sizeof *x), *at;
    ex_panel panels[3 * COLUMNS_MOST];
    char subtitle[240], note[900], events[480];
    ex_figure figure;
    bool ok;

    if (!x) return ex_fail("not enough memory for a picture") == EX_OK;
    memset(strips, 0, sizeof strips);
    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; i < cell->bins; i++) x[i] = (i + 0.5) * cell->bin_s;
    for (at = x + cell->bins, i = 0; i < count; i++) {
        at = fill_strip(c, s, shown[i], other, &strips[i], x, at);
        for (k = 0; k < 3; k++) panels[k * count + i].line = &strips[i].charts[k];
    }
    ex_contest_text(c, s, subtitle, sizeof subtitle);
    events_text(c, events, sizeof events);
    snprintf(note, sizeof note, "Of one server of its kind; 1: what each would have if all were alike; in brackets its "
             "part of the capacity by the same measure, as it was at first. Means of %g s%s.%s", cell->bin_s,
             c->seeds > 1 ? " over all seeds" : "", events);
    figure.title = "Who is sent how much";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = 3 * count;
    figure.columns = count;
    ok = ex_figure_write(&figure, count > 1 ? 560 * count + 80 : 900, 1200, ex_contest_path(c, s, "weights").text);
    free(x);
    return ok;
}

static bool draw(const ex_contest *c)
{
    int32_t s;

    if (c->no_pictures) return true;
    for (s = 0; s < c->setting_count && series; s++) {
        if (!draw_weights(c, s)) return false;
    }
    return draw_all_boxes(c) && (c->setting_count == 1 || ex_contest_sweep(c));
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static bool write_all(const ex_contest *c)
{
    return write_results(c) && ex_contest_write_csv(c, "marl_eval.csv") && ex_contest_write_series(c) &&
           (!series || write_weights(c)) && draw(c);
}

static int hold(ex_contest *c)
{
    ex_lock lock;
    int status;

    if (!ex_folder_lock(c->out, &lock)) return EX_FAILED;
    status = ex_contest_run(c, "evaluating");
    if (status == EX_GO_ON) {
        status = write_all(c) ? EX_OK : EX_FAILED;
        if (status == EX_OK && !c->quiet) print_results(c);
    }
    ex_folder_unlock(&lock);
    return status;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    race.how.unguarded = guards == 1;
    race.wants_weights = series;
    if (race.rates.count > 0 && race.loads.count > 0) {
        return ex_usage("loads", "has no use with --rates: one says the other");
    }
    status = take_models(&race);
    if (status == EX_OK) status = take_others(&race);
    if (status == EX_OK) status = check_against(&race);
    if (status == EX_OK) status = ex_contest_open(&race);
    if (status == EX_OK) status = check_fit(&race);
    tell(&race);
    if (status == EX_OK) status = ex_contest_make(&race);
    if (status == EX_OK) status = hold(&race);
    ex_contest_close(&race);
    return status;
}
