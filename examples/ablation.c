/* ablation.c - the full agent, and what becomes of it when its parts are taken out one by one

   Shows how to ask what a part is good for: the full agent is Double Dueling DQN with prioritised replay; each
   variant lacks one thing and nothing else, all meet the same seeds, and every difference comes with an interval.
   Stability is a number: the standard deviation of the last 100 returns, and the area under the learning curve.

   Build:   make build/ablation
   Run:     build/ablation --out out/ablation
   Prints:  a table of the variants, beside what was published, and what each part is worth
   Writes:  results.json, ablation.csv, curves.csv, runs.csv, curves.png, stability.png, runs/NAME.csv

   "No replay" learns from the newest transition as it comes. In the published program it does not learn at all, since
   its update returns at once without a replay: --as-original adds that as one more variant.

   Stopped, it goes on with --resume; slices for other machines: --shard, --merge, docs/cluster.md. */

#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---------------------------------------------------------------------------------------------- */

/* trace needs a file of its own: train and stress_test have that. */
static const char *const traffic_names[] = { "low", "high", "bursty", NULL };

static int32_t mode = RLLB_ENV_SEED0, traffic = RLLB_ENV_HIGH, episodes = 800, seeds = 10, window = 50;
static double lr = 1e-3, gamma_ = 0.99, epsilon_fixed;
static uint64_t seed = 1;
static bool quick, as_original;
static ex_study_how how = { .out = "out/ablation" };

static ex_option options[] = {
    EX_HEADING("Ablation"),
    EX_CHOICE("env", &mode, ex_mode_names, "the published cluster, or the one where crashing does not pay"),
    EX_CHOICE("traffic", &traffic, traffic_names, "what arrives"),
    EX_DOUBLE("lr", &lr, 1e-9, 10, "X", "learning rate of Adam"),
    EX_DOUBLE("gamma", &gamma_, 0, 1, "X", "discount of later rewards"),
    EX_DOUBLE("epsilon", &epsilon_fixed, 0, 1, "X",
              "share of random actions where it does not decay; 0: the schedule's mean, so that all explore as much"),
    EX_FLAG("as-original", &as_original, "one more variant: no replay as published, which never learns"),
    EX_INT("episodes", &episodes, 2, 1000000, "N", "episodes to a run"),
    EX_INT("seeds", &seeds, 1, 1000, "N", "runs of every variant"),
    EX_SEED("seed", &seed, "the first of the seeds"),
    EX_INT("window", &window, 1, 100000, "N", "episodes in the rolling mean of the curves"),
    EX_FLAG("quick", &quick, "short form: 2 seeds, 50 episodes, unless given; shows that it works, proves nothing"),
    EX_STUDY_OPTIONS(how),
};

static const char *folders[EX_STUDY_FOLDERS_MAX];

static ex_program program = {
    .name = "ablation",
    .summary = "the full agent against itself without one of its parts",
    .details = "The defaults are the published settings (high traffic, learning rate 0.001, discount 0.99, 800\n"
               "episodes, an update every step) with ten seeds in place of one. The full agent has what was\n"
               "published (replay, target network, clipping, decaying exploration) and Double DQN, the dueling head\n"
               "and prioritised replay besides.\n",
    .options = options,
    .option_count = EX_COUNT(options),
    .arguments_name = "[DIR...]",
    .arguments_max = EX_STUDY_FOLDERS_MAX,
    .arguments = folders,
};

/* ---- the variants ------------------------------------------------------------------------------------------ */

enum {
    FULL,
    NO_TARGET,
    NO_REPLAY,
    NO_DOUBLE,
    NO_DUELING,
    NO_CLIP,
    NO_PER,
    NO_DECAY,
    NEVER_LEARNS,
    VARIANTS
};

static const char *const variant_names[] = {
    "full",              "no target network",      "no replay",            "no double",
    "no dueling head",   "no gradient clipping",   "no prioritised replay", "no epsilon decay",
    "no replay as published",
};

/* What the published project says of it: its program takes out the first two, its text shows no figure of them. */
static const char *const published[] = {
    "run, no figure", "run, no figure", "run, never learns", "-", "-", "-", "-", "-", "run, no figure"
};

static int32_t variant_count = VARIANTS - 1;

static const char *name_of_group(int32_t group)
{
    return variant_names[group];
}

/* The mean of the decaying schedule over the run. */
static double mean_epsilon(const ex_trial *t)
{
    double epsilon = 1, sum = 0;
    int32_t i;

    for (i = 0; i < episodes; i++) {
        sum += epsilon > t->epsilon_floor ? epsilon : t->epsilon_floor;
        epsilon *= t->epsilon_decay;
    }
    return sum / episodes;
}

static ex_trial variant_trial(int32_t variant)
{
    ex_trial t;

    ex_trial_default(&t);
    t.mode = mode;
    t.traffic = traffic;
    t.lr = lr;
    t.gamma = gamma_;
    t.episodes = episodes;
    t.double_dqn = variant != NO_DOUBLE;
    t.algo = variant == NO_DUELING ? EX_DQN : EX_DUELING;
    t.prioritized = variant != NO_PER;
    t.no_target = variant == NO_TARGET;
    t.no_replay = variant == NO_REPLAY || variant == NEVER_LEARNS;
    t.never_learns = variant == NEVER_LEARNS;
    if (variant == NO_CLIP) t.clip = 0;
    if (variant == NO_DECAY) t.epsilon_fixed = epsilon_fixed > 0 ? epsilon_fixed : mean_epsilon(&t);
    return t;
}

static int study_fill(ex_study *s)
{
    int32_t v, k;
    char name[96], *at;

    if (as_original) variant_count = VARIANTS;
    for (v = 0; v < variant_count; v++) {
        ex_trial t = variant_trial(v);
        snprintf(name, sizeof name, "%s %s %s", ex_mode_names[mode], traffic_names[traffic], variant_names[v]);
        for (at = name; *at; at++) {
            if (*at == ' ') *at = '_';
        }
        for (k = 0; k < seeds; k++) {
            t.seed = seed + (uint64_t)k;
            if (!ex_study_add(s, &t, v, name)) return EX_FAILED;
        }
    }
    s->tail = EX_LAST;
    s->group_name = name_of_group;
    return EX_GO_ON;
}

/* ---- what comes out ---------------------------------------------------------------------------------------- */

/* What a variant does differently from the full agent; better and worse only where the interval leaves out 0. */
typedef struct effect {
    ex_estimate last, sd, area, greedy;
} effect;

static effect effect_of(const ex_study *s, int32_t v)
{
    effect e;

    e.last = ex_group_differ(s, v, FULL, seeds, EX_M_LAST);
    e.sd = ex_group_differ(s, v, FULL, seeds, EX_M_SD);
    e.area = ex_group_differ(s, v, FULL, seeds, EX_M_AREA);
    e.greedy = ex_group_differ(s, v, FULL, seeds, EX_M_GREEDY);
    return e;
}

static const char *side(ex_estimate e, const char *above, const char *below)
{
    return e.low > 0 ? above : e.high < 0 ? below : NULL;
}

/* "less steady, worse curve" or "no difference to be seen" */
static const char *effect_text(const effect *e, char out[128])
{
    const char *words[3];
    int32_t i;
    size_t used = 0;

    words[0] = side(e->sd, "less steady", "steadier");
    words[1] = side(e->area, "better curve", "worse curve");
    words[2] = side(e->greedy, "ends better", "ends worse");
    out[0] = '\0';
    for (i = 0; i < 3; i++) {
        if (words[i]) used += (size_t)snprintf(out + used, 128 - used, "%s%s", used ? ", " : "", words[i]);
    }
    if (!used) snprintf(out, 128, "no difference to be seen");
    return out;
}

static bool is_short(void)
{
    return seeds < 5 || episodes < 400;
}

static bool crash_pays(void)
{
    return mode == RLLB_ENV_SEED0 && traffic == RLLB_ENV_HIGH;
}

static void print_results(const ex_study *s)
{
    ex_table table = { 0 }, effects = { 0 };
    char text[128];
    int32_t v;

    printf("\ncluster %s, %s traffic: seeds %llu to %llu, %d episodes\n", ex_mode_names[mode], traffic_names[traffic],
           (unsigned long long)seed, (unsigned long long)seed + (unsigned long long)seeds - 1, (int)episodes);
    ex_table_cell(&table, "variant");
    ex_measure_heading(&table);
    ex_table_cell(&table, "published");
    ex_table_row(&table);
    for (v = 0; v < variant_count; v++) {
        ex_table_cell(&table, "%s", variant_names[v]);
        ex_measure_cells(&table, s, v, seeds);
        ex_table_cell(&table, "%s", published[v]);
        ex_table_row(&table);
    }
    ex_table_print(&table, stdout);
    ex_table_free(&table);
    printf("\n");
    ex_table_cell(&effects, "less the full agent");
    ex_table_cell(&effects, "sd of the last 100");
    ex_table_cell(&effects, "area");
    ex_table_cell(&effects, "greedy");
    ex_table_cell(&effects, "in words");
    ex_table_row(&effects);
    for (v = 1; v < variant_count; v++) {
        effect e = effect_of(s, v);
        ex_table_cell(&effects, "%s", variant_names[v]);
        ex_table_cell(&effects, "%+.2f %s", e.sd.mean, ex_interval_text(e.sd, 2, text));
        ex_table_cell(&effects, "%+.2f %s", e.area.mean, ex_interval_text(e.area, 2, text));
        ex_table_cell(&effects, "%+.1f %s", e.greedy.mean, ex_interval_text(e.greedy, 1, text));
        ex_table_cell(&effects, "%s", is_short() ? "too few to say" : effect_text(&e, text));
        ex_table_row(&effects);
    }
    ex_table_print(&effects, stdout);
    ex_table_free(&effects);
    ex_measure_legend();
    printf("Without decay the share of random actions is %.3g throughout.\n"
           "Published: the project's program takes out the target network and the replay; its text has no figure.\n",
           variant_trial(NO_DECAY).epsilon_fixed);
    if (is_short())
        printf("With so few seeds or episodes this shows that the program works, and nothing about the parts.\n");
    if (as_original && !is_short()) {
        ex_estimate e = ex_group_differ(s, NEVER_LEARNS, FULL, seeds, EX_M_GREEDY);
        if (e.low > 0) {
            printf("The variant that learns nothing ends ahead of the full agent, by %.2f %s: what is rewarded here is "
                   "not balancing.\n",
                   e.mean, ex_interval_text(e, 2, text));
        }
    }
    if (crash_pays()) {
        printf("Mind what a return says here: with high traffic in this world an early crash (-50, and over) costs "
               "less than living on. Always the same server crashes in step 4 and has -54.9, least load lives for 39 "
               "steps and has -101. --env honest has no such reward.\n");
    }
    printf("in %s: results.json ablation.csv curves.csv runs.csv curves.png stability.png runs/\n", how.out);
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_csv(const ex_study *s)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t v, m;
    bool ok;

    ex_csv_string(&csv, "variant");
    for (m = 0; m < EX_MEASURES; m++) {
        static const char *const parts[] = { "", "_low", "_high", "_less_full", "_less_full_low", "_less_full_high" };
        int32_t k;
        for (k = 0; k < EX_COUNT(parts); k++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s", ex_measure_keys[m], parts[k]);
            ex_csv_string(&csv, name);
        }
    }
    ex_csv_row(&csv);
    for (v = 0; v < variant_count; v++) {
        ex_csv_string(&csv, variant_names[v]);
        for (m = 0; m < EX_MEASURES; m++) {
            ex_estimate e = ex_group_measure(s, v, seeds, (ex_measure)m);
            ex_estimate d = ex_group_differ(s, v, FULL, seeds, (ex_measure)m);
            ex_csv_double(&csv, e.mean);
            ex_csv_double(&csv, e.low);
            ex_csv_double(&csv, e.high);
            ex_csv_double(&csv, d.mean);
            ex_csv_double(&csv, d.low);
            ex_csv_double(&csv, d.high);
        }
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(how.out, "ablation.csv").text);
    ex_text_free(&text);
    return ok;
}

static bool write_results(const ex_study *s)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    char words[128];
    int32_t v, m;
    bool ok;

    ex_study_json_begin(s, &j, &program);
    ex_json_double(&j, "epsilon_without_decay", variant_trial(NO_DECAY).epsilon_fixed);
    ex_json_bool(&j, "too_short_to_conclude", is_short());
    ex_json_array(&j, "results");
    for (v = 0; v < variant_count; v++) {
        effect e = effect_of(s, v);
        ex_json_object(&j, NULL);
        ex_json_string(&j, "variant", variant_names[v]);
        ex_json_string(&j, "published", published[v]);
        ex_json_measures(&j, s, v, seeds);
        if (v != FULL) {
            ex_json_object(&j, "less_full");
            for (m = 0; m < EX_MEASURES; m++) {
                ex_json_estimate(&j, ex_measure_keys[m], ex_group_differ(s, v, FULL, seeds, (ex_measure)m));
            }
            ex_json_end(&j);
            ex_json_string(&j, "verdict", is_short() ? "too few to say" : effect_text(&e, words));
        }
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(how.out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* Grey is the full agent; the palette ends in a grey of its own. */
static ex_color variant_color(int32_t v)
{
    if (v == FULL) return EX_RGB(0x8A949Eu);
    return v == NEVER_LEARNS ? EX_RGB(0xA23B4Bu) : ex_palette(v - 1);
}

/* A panel for each part: the full agent, and the one without it. */
static bool draw_curves(const ex_study *s)
{
    static ex_series series[VARIANTS][2];
    static ex_line_chart charts[VARIANTS];
    static ex_panel panels[VARIANTS];
    size_t n = (size_t)episodes;
    double *x = malloc(n * sizeof *x), *curves = malloc(3 * n * VARIANTS * sizeof *curves), low = 0, high = -1e300;
    char note[240], subtitle[160];
    ex_figure figure;
    int32_t v, k;
    size_t i;
    bool ok = x && curves;

    if (!ok) ex_fail("no memory for the picture");
    for (i = 0; ok && i < n; i++) x[i] = (double)i + 1;
    for (v = 0; ok && v < variant_count; v++) {
        double *at = curves + 3 * n * (size_t)v;
        ok = ex_group_curve(s, v, seeds, window, at, at + n, at + 2 * n);
        for (i = 0; ok && i < n; i++) {
            if (at[n + i] < low) low = at[n + i];
            if (at[2 * n + i] > high) high = at[2 * n + i];
        }
        for (k = 0; k < 2; k++) {
            const double *from = k == 0 ? curves : at;
            ex_series *line = &series[v][k];
            line->name = k == 0 ? "full" : variant_names[v];
            line->x = x;
            line->y = from;
            line->low = from + n;
            line->high = from + 2 * n;
            line->count = episodes;
            line->color = variant_color(k == 0 ? FULL : v);
            line->width = 2.25;
        }
    }
    for (v = 1; v < variant_count; v++) {
        ex_line_chart *chart = &charts[v];
        chart->title = variant_names[v];
        chart->x.label = "episode";
        chart->x.high = episodes;
        chart->y.label = "return of an episode";
        chart->y.low = low - 0.04 * (high - low);
        chart->y.high = high + 0.04 * (high - low);
        chart->series = series[v];
        chart->series_count = 2;
        panels[v - 1].line = chart;
    }
    memset(&figure, 0, sizeof figure);
    snprintf(subtitle, sizeof subtitle, "%s cluster, %s traffic, %d seeds, the same for all; closer to 0 is better",
             ex_mode_names[mode], traffic_names[traffic], (int)seeds);
    snprintf(note, sizeof note,
             "Lines: rolling mean of %d returns, averaged over the seeds. Bands: one standard deviation between "
             "the seeds.",
             (int)window);
    figure.title = "What a part does to learning";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = variant_count - 1;
    figure.columns = 3;
    ok = ok && ex_figure_write(&figure, 1680, 160 + 340 * ((variant_count + 1) / 3),
                               ex_path_join(how.out, "curves.png").text);
    free(x);
    free(curves);
    return ok;
}

static bool draw_stability(const ex_study *s)
{
    static const ex_measure shown[] = { EX_M_SD, EX_M_AREA };
    static const char *const titles[] = { "unsteadiness: lower is steadier",
                                          "area under the learning curve: closer to 0 is better" };
    static const char *const labels[] = { "standard deviation of the last 100 returns", "mean return of all episodes" };
    double *values = malloc((size_t)seeds * 2 * VARIANTS * sizeof *values);
    const double *list[2 * VARIANTS];
    int32_t counts[VARIANTS], v, m, k;
    ex_color colors[VARIANTS];
    ex_reference references[2];
    ex_box_chart charts[2];
    ex_panel panels[2];
    char subtitle[160];
    ex_figure figure;
    bool ok = values != NULL;

    if (!ok) ex_fail("no memory for the picture");
    memset(charts, 0, sizeof charts);
    memset(panels, 0, sizeof panels);
    memset(references, 0, sizeof references);
    for (v = 0; v < variant_count; v++) {
        counts[v] = seeds;
        colors[v] = variant_color(v);
    }
    for (m = 0; ok && m < 2; m++) {
        for (v = 0; v < variant_count; v++) {
            double *box = values + (size_t)(m * VARIANTS + v) * (size_t)seeds;
            for (k = 0; k < seeds; k++) box[k] = ex_run_measure(ex_study_find(s, v, k), shown[m]);
            list[m * VARIANTS + v] = box;
        }
        references[m].label = "full";
        references[m].y = ex_group_measure(s, FULL, seeds, shown[m]).mean;
        charts[m].title = titles[m];
        charts[m].y.label = labels[m];
        charts[m].categories = variant_names;
        charts[m].category_count = variant_count;
        charts[m].values = &list[m * VARIANTS];
        charts[m].counts = counts;
        charts[m].colors = colors;
        charts[m].references = &references[m];
        charts[m].reference_count = 1;
        panels[m].box = &charts[m];
    }
    memset(&figure, 0, sizeof figure);
    snprintf(subtitle, sizeof subtitle, "%s cluster, %s traffic, %d seeds, %d episodes", ex_mode_names[mode],
             traffic_names[traffic], (int)seeds, (int)episodes);
    figure.title = "What a part does to stability";
    figure.subtitle = subtitle;
    figure.note = "Boxes: quartiles and median over the seeds, a dot for the mean. Dashed: the mean of the full "
                  "agent, which is Double Dueling DQN with prioritised replay.";
    figure.panels = panels;
    figure.panel_count = 2;
    figure.columns = 1;
    ok = ok && ex_figure_write(&figure, 1440, 1000, ex_path_join(how.out, "stability.png").text);
    free(values);
    return ok;
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int report(const ex_study *s)
{
    bool ok = write_csv(s) && ex_study_write_runs(s) && ex_write_curves(s, seeds, window, variant_names) &&
              write_results(s) && draw_curves(s) && draw_stability(s);

    if (ok && !how.quiet) print_results(s);
    return ok ? EX_OK : EX_FAILED;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);
    ex_study study;

    if (status != EX_GO_ON) return status;
    if (quick && !ex_option_given(&program, "seeds")) seeds = 2;
    if (quick && !ex_option_given(&program, "episodes")) episodes = 50;
    if (quick && !ex_option_given(&program, "window")) window = 10;
    status = ex_study_open(&study, &how, program.argument_count);
    if (status == EX_GO_ON) status = study_fill(&study);
    if (status == EX_GO_ON) status = ex_study_run(&study, folders, program.argument_count);
    if (status == EX_GO_ON) status = report(&study);
    ex_study_close(&study);
    return status;
}
