/* compare.c - Standard against Dueling DQN, and Double DQN of both, under low and high traffic, with the same seeds

   Shows how to compare two learners: many seeds, paired; learning curves with the spread between seeds; stability as a
   number; a bootstrap interval on every difference; and, for the published study of this cluster, each of its claims
   with what is found here.

   Build:   make build/compare
   Run:     build/compare --out out/compare
   Prints:  a table for each traffic, the differences, and which of the published claims hold
   Writes:  results.json, compare.csv, curves.csv, runs.csv, curves.png, stability.png, runs/NAME.csv

   Stopped, it goes on with --resume; slices for other machines: --shard, --merge, docs/cluster.md. */

#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---------------------------------------------------------------------------------------------- */

/* trace needs a file of its own: train and stress_test have that. */
static const char *const traffic_names[] = { "low", "high", "bursty", NULL };

static int32_t mode = RLLB_ENV_SEED0, episodes = 800, seeds = 10, window = 50;
static uint32_t traffics = 1u << RLLB_ENV_LOW | 1u << RLLB_ENV_HIGH;
static double lr = 1e-3, gamma_ = 0.99;
static uint64_t seed = 1;
static bool quick;
static ex_study_how how = { .out = "out/compare" };

static ex_option options[] = {
    EX_HEADING("Comparison"),
    EX_CHOICE("env", &mode, ex_mode_names, "the published cluster, or the one where crashing does not pay"),
    EX_CHOICES("traffic", &traffics, traffic_names, "what arrives, by comma"),
    EX_DOUBLE("lr", &lr, 1e-9, 10, "X", "learning rate of Adam"),
    EX_DOUBLE("gamma", &gamma_, 0, 1, "X", "discount of later rewards"),
    EX_INT("episodes", &episodes, 2, 1000000, "N", "episodes to a run"),
    EX_INT("seeds", &seeds, 1, 1000, "N", "runs of every learner under every traffic"),
    EX_SEED("seed", &seed, "the first of the seeds"),
    EX_INT("window", &window, 1, 100000, "N", "episodes in the rolling mean of the curves"),
    EX_FLAG("quick", &quick, "short form: 2 seeds, 50 episodes, unless given; shows that it works, proves nothing"),
    EX_STUDY_OPTIONS(how),
};

static const char *folders[EX_STUDY_FOLDERS_MAX];

static ex_program program = {
    .name = "compare",
    .summary = "Standard, Dueling and Double DQN with the same seeds",
    .details = "The defaults are the published settings (learning rate 0.001, discount 0.99, 800 episodes, an\n"
               "update every step) with ten seeds in place of one.\n",
    .options = options,
    .option_count = EX_COUNT(options),
    .arguments_name = "[DIR...]",
    .arguments_max = EX_STUDY_FOLDERS_MAX,
    .arguments = folders,
};

/* ---- who is compared --------------------------------------------------------------------------------------- */

enum { DQN, DUELING, DOUBLE_DQN, DOUBLE_DUELING, LEARNERS, WORLDS_MOST = 3, GROUPS_MOST = LEARNERS * WORLDS_MOST };

static const char *const learner_names[] = { "dqn", "dueling", "double dqn", "double dueling" };
static const char *const learner_titles[] = { "Standard", "Dueling", "Double", "Double Dueling" };

static int32_t worlds[WORLDS_MOST], world_count;
static char group_names[GROUPS_MOST][48];
static const char *group_list[GROUPS_MOST];

static const char *name_of_group(int32_t group)
{
    return group_names[group];
}

static int study_fill(ex_study *s)
{
    int32_t w, a, k;
    char name[64], *at;

    for (w = 0; w < WORLDS_MOST; w++) {
        if (traffics >> w & 1) worlds[world_count++] = w;
    }
    for (w = 0; w < world_count; w++) {
        for (a = 0; a < LEARNERS; a++) {
            int32_t group = w * LEARNERS + a;
            ex_trial t;
            ex_trial_default(&t);
            t.mode = mode;
            t.traffic = worlds[w];
            t.algo = a == DUELING || a == DOUBLE_DUELING ? EX_DUELING : EX_DQN;
            t.double_dqn = a == DOUBLE_DQN || a == DOUBLE_DUELING;
            t.lr = lr;
            t.gamma = gamma_;
            t.episodes = episodes;
            snprintf(group_names[group], sizeof group_names[0], "%s %s", traffic_names[worlds[w]], learner_names[a]);
            group_list[group] = group_names[group];
            snprintf(name, sizeof name, "%s %s", ex_mode_names[mode], group_names[group]);
            for (at = name; *at; at++) {
                if (*at == ' ') *at = '_';
            }
            for (k = 0; k < seeds; k++) {
                t.seed = seed + (uint64_t)k;
                if (!ex_study_add(s, &t, group, name)) return EX_FAILED;
            }
        }
    }
    s->tail = EX_LAST;
    s->group_name = name_of_group;
    return EX_GO_ON;
}

/* ---- what comes out ---------------------------------------------------------------------------------------- */

static const struct {
    int32_t a, b;
} pairs[] = { { DUELING, DQN }, { DOUBLE_DQN, DQN }, { DOUBLE_DUELING, DUELING } };

enum { PAIRS = 3, CLAIMS_MOST = 5 };

typedef struct claim {
    const char *published, *verdict; /* "holds", "does not hold", "not decided" */
    char found[360];
} claim;

static ex_estimate differ(const ex_study *s, int32_t w, int32_t pair, ex_measure m)
{
    return ex_group_differ(s, w * LEARNERS + pairs[pair].a, w * LEARNERS + pairs[pair].b, seeds, m);
}

/* A few short runs decide nothing, whatever their intervals say. */
static bool is_short(void)
{
    return seeds < 5 || episodes < 400;
}

static const char *holds_if(bool yes, bool no)
{
    if (is_short()) return "not decided";
    return yes ? "holds" : no ? "does not hold" : "not decided";
}

/* The published claims are about seed0, low and high. An interval that lies on one side of the mark decides. */
static int32_t claims_make(const ex_study *s, claim *out)
{
    char one[64], two[64];
    int32_t w, n = 0;

    for (w = 0; mode == RLLB_ENV_SEED0 && w < world_count; w++) {
        ex_estimate last = differ(s, w, 0, EX_M_LAST), sd = differ(s, w, 0, EX_M_SD);
        ex_estimate dqn = ex_group_measure(s, w * LEARNERS + DQN, seeds, EX_M_LAST);
        ex_estimate steady = ex_group_measure(s, w * LEARNERS + DQN, seeds, EX_M_SD);
        ex_estimate bias = ex_group_measure(s, w * LEARNERS + DQN, seeds, EX_M_BIAS);
        ex_estimate cure = differ(s, w, 1, EX_M_SD);
        double same = 0.05 * fabs(dqn.mean);
        claim *c = &out[n];
        if (worlds[w] == RLLB_ENV_LOW) {
            c->published = "low traffic: both converge, with nearly identical performance";
            c->verdict = holds_if(last.low > -same && last.high < same, last.low > same || last.high < -same);
            snprintf(c->found, sizeof c->found,
                     "Dueling less Standard, last 100 returns: %+.2f %s; identical is taken as "
                     "within 5 %% (%.2f)",
                     last.mean, ex_interval_text(last, 2, one), same);
            n++;
        }
        if (worlds[w] != RLLB_ENV_HIGH) continue;
        c[0].published = "high traffic: Dueling is significantly more stable than Standard";
        c[0].verdict = holds_if(sd.high < 0, sd.low >= 0);
        snprintf(c[0].found, sizeof c[0].found,
                 "Dueling less Standard, standard deviation of the last 100 returns: %+.2f %s "
                 "(Standard: %s)",
                 sd.mean, ex_interval_text(sd, 2, one), ex_estimate_text(steady, 2, two));
        c[1].published = "high traffic: Standard overestimates";
        c[1].verdict = holds_if(bias.low > 0, bias.high <= 0);
        snprintf(c[1].found, sizeof c[1].found, "what Standard expects less what it gets: %+.2f %s", bias.mean,
                 ex_interval_text(bias, 2, one));
        c[2].published = "high traffic: that overestimation is why it is unstable";
        c[2].verdict = holds_if(cure.high < 0 && bias.low > 0, cure.low >= 0 || bias.high <= 0);
        snprintf(c[2].found, sizeof c[2].found,
                 "Double DQN, which takes the overestimation away, less Standard, standard "
                 "deviation of the last 100 returns: %+.2f %s",
                 cure.mean, ex_interval_text(cure, 2, one));
        c[3].published = "high traffic: Dueling is the superior architecture";
        c[3].verdict = holds_if(last.low > 0, last.high <= 0);
        snprintf(c[3].found, sizeof c[3].found,
                 "Dueling less Standard, last 100 returns: %+.2f %s; length of those episodes: "
                 "%.1f and %.1f steps",
                 last.mean, ex_interval_text(last, 2, one),
                 ex_group_measure(s, w * LEARNERS + DUELING, seeds, EX_M_LENGTH).mean,
                 ex_group_measure(s, w * LEARNERS + DQN, seeds, EX_M_LENGTH).mean);
        n += 4;
    }
    return n;
}

static const char caution[] =
    "With so few seeds or episodes this shows that the program works, and nothing about the claims.";
static const char crash_pays[] =
    "Mind what a return says here: with high traffic in this world an early crash (-50, and over) costs less than "
    "living on. Always the same server crashes in step 4 and has -54.9, least load lives for 39 steps and has -101. "
    "--env honest has no such reward.";

/* ---- tables ------------------------------------------------------------------------------------------------ */

static void print_results(const ex_study *s, const claim *claims, int32_t claim_count)
{
    char text[64];
    int32_t w, a, p;

    for (w = 0; w < world_count; w++) {
        ex_table table = { 0 }, differences = { 0 };
        printf("\ncluster %s, %s traffic: seeds %llu to %llu, %d episodes\n", ex_mode_names[mode],
               traffic_names[worlds[w]], (unsigned long long)seed,
               (unsigned long long)seed + (unsigned long long)seeds - 1, (int)episodes);
        ex_table_cell(&table, "learner");
        ex_measure_heading(&table);
        ex_table_row(&table);
        for (a = 0; a < LEARNERS; a++) {
            ex_table_cell(&table, "%s", learner_names[a]);
            ex_measure_cells(&table, s, w * LEARNERS + a, seeds);
            ex_table_row(&table);
        }
        ex_table_print(&table, stdout);
        ex_table_free(&table);
        printf("\n");
        ex_table_cell(&differences, "difference, paired by seed");
        ex_table_cell(&differences, "last 100");
        ex_table_cell(&differences, "their sd");
        ex_table_cell(&differences, "area");
        ex_table_row(&differences);
        for (p = 0; p < PAIRS; p++) {
            static const ex_measure shown[] = { EX_M_LAST, EX_M_SD, EX_M_AREA };
            int32_t m;
            ex_table_cell(&differences, "%s less %s", learner_names[pairs[p].a], learner_names[pairs[p].b]);
            for (m = 0; m < 3; m++) {
                ex_estimate e = differ(s, w, p, shown[m]);
                ex_table_cell(&differences, "%+.2f %s", e.mean, ex_interval_text(e, 2, text));
            }
            ex_table_row(&differences);
        }
        ex_table_print(&differences, stdout);
        ex_table_free(&differences);
    }
    ex_measure_legend();
    printf("\n");
    for (p = 0; p < claim_count; p++) {
        printf("published: %s\n    %s: %s\n", claims[p].published, claims[p].verdict, claims[p].found);
    }
    if (is_short()) printf("%s\n", caution);
    if (mode == RLLB_ENV_SEED0 && traffics >> RLLB_ENV_HIGH & 1) printf("%s\n", crash_pays);
    printf("in %s: results.json compare.csv curves.csv runs.csv curves.png stability.png runs/\n", how.out);
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_csv(const ex_study *s)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t w, a, m;
    bool ok;

    ex_csv_string(&csv, "traffic");
    ex_csv_string(&csv, "learner");
    for (m = 0; m < EX_MEASURES; m++) {
        char name[64];
        ex_csv_string(&csv, ex_measure_keys[m]);
        snprintf(name, sizeof name, "%s_low", ex_measure_keys[m]);
        ex_csv_string(&csv, name);
        snprintf(name, sizeof name, "%s_high", ex_measure_keys[m]);
        ex_csv_string(&csv, name);
    }
    ex_csv_row(&csv);
    for (w = 0; w < world_count; w++) {
        for (a = 0; a < LEARNERS; a++) {
            ex_csv_string(&csv, traffic_names[worlds[w]]);
            ex_csv_string(&csv, learner_names[a]);
            for (m = 0; m < EX_MEASURES; m++) {
                ex_estimate e = ex_group_measure(s, w * LEARNERS + a, seeds, (ex_measure)m);
                ex_csv_double(&csv, e.mean);
                ex_csv_double(&csv, e.low);
                ex_csv_double(&csv, e.high);
            }
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(how.out, "compare.csv").text);
    ex_text_free(&text);
    return ok;
}

static bool write_results(const ex_study *s, const claim *claims, int32_t claim_count)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t w, a, p, m;
    bool ok;

    ex_study_json_begin(s, &j, &program);
    ex_json_array(&j, "results");
    for (w = 0; w < world_count; w++) {
        for (a = 0; a < LEARNERS; a++) {
            ex_json_object(&j, NULL);
            ex_json_string(&j, "traffic", traffic_names[worlds[w]]);
            ex_json_string(&j, "learner", learner_names[a]);
            ex_json_measures(&j, s, w * LEARNERS + a, seeds);
            ex_json_end(&j);
        }
    }
    ex_json_end(&j);
    ex_json_array(&j, "differences");
    for (w = 0; w < world_count; w++) {
        for (p = 0; p < PAIRS; p++) {
            ex_json_object(&j, NULL);
            ex_json_string(&j, "traffic", traffic_names[worlds[w]]);
            ex_json_string(&j, "learner", learner_names[pairs[p].a]);
            ex_json_string(&j, "less", learner_names[pairs[p].b]);
            ex_json_object(&j, "measures");
            for (m = 0; m < EX_MEASURES; m++) ex_json_estimate(&j, ex_measure_keys[m], differ(s, w, p, (ex_measure)m));
            ex_json_end(&j);
            ex_json_end(&j);
        }
    }
    ex_json_end(&j);
    ex_json_bool(&j, "too_short_to_conclude", is_short());
    ex_json_array(&j, "claims");
    for (p = 0; p < claim_count; p++) {
        ex_json_object(&j, NULL);
        ex_json_string(&j, "published", claims[p].published);
        ex_json_string(&j, "verdict", claims[p].verdict);
        ex_json_string(&j, "found", claims[p].found);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(how.out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

/* A row for each traffic: Standard and Dueling on the left, Double of both on the right, on the same axes. */
static bool draw_curves(const ex_study *s)
{
    static ex_series series[GROUPS_MOST];
    static ex_line_chart charts[2 * WORLDS_MOST];
    static ex_panel panels[2 * WORLDS_MOST];
    static char titles[2 * WORLDS_MOST][64];
    size_t n = (size_t)episodes;
    double *x = malloc(n * sizeof *x), *curves = malloc(3 * n * GROUPS_MOST * sizeof *curves);
    char note[240], subtitle[160];
    ex_figure figure;
    int32_t w, a, i;
    bool ok = x && curves;

    if (!ok) ex_fail("no memory for the picture");
    for (i = 0; ok && i < episodes; i++) x[i] = i + 1;
    for (w = 0; ok && w < world_count; w++) {
        double low = 0, high = -1e300;
        for (a = 0; ok && a < LEARNERS; a++) {
            double *at = curves + 3 * n * (size_t)(w * LEARNERS + a);
            ex_series *line = &series[w * LEARNERS + a];
            ok = ex_group_curve(s, w * LEARNERS + a, seeds, window, at, at + n, at + 2 * n);
            for (i = 0; ok && i < episodes; i++) {
                if (at[n + (size_t)i] < low) low = at[n + (size_t)i];
                if (at[2 * n + (size_t)i] > high) high = at[2 * n + (size_t)i];
            }
            line->name = learner_titles[a];
            line->x = x;
            line->y = at;
            line->low = at + n;
            line->high = at + 2 * n;
            line->count = episodes;
            line->color = ex_palette(a % 2);
            line->width = 2.5;
        }
        for (a = 0; a < 2; a++) {
            ex_line_chart *chart = &charts[2 * w + a];
            snprintf(titles[2 * w + a], sizeof titles[0], "%s traffic: %s", traffic_names[worlds[w]],
                     a == 0 ? "Standard and Dueling" : "Double of both");
            chart->title = titles[2 * w + a];
            chart->x.label = "episode";
            chart->x.low = 0;
            chart->x.high = episodes;
            chart->y.label = "return of an episode";
            chart->y.low = low - 0.04 * (high - low);
            chart->y.high = high + 0.04 * (high - low);
            chart->series = &series[w * LEARNERS + 2 * a];
            chart->series_count = 2;
            panels[2 * w + a].line = chart;
        }
    }
    memset(&figure, 0, sizeof figure);
    snprintf(subtitle, sizeof subtitle, "%s cluster, %d seeds, the same for all; closer to 0 is better",
             ex_mode_names[mode], (int)seeds);
    snprintf(note, sizeof note,
             "Lines: rolling mean of %d returns, averaged over the seeds. Bands: one standard deviation between "
             "the seeds.",
             (int)window);
    figure.title = "Learning curves";
    figure.subtitle = subtitle;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = 2 * world_count;
    figure.columns = 2;
    ok = ok && ex_figure_write(&figure, 1440, 160 + 420 * world_count, ex_path_join(how.out, "curves.png").text);
    free(x);
    free(curves);
    return ok;
}

/* A box over the seeds for every learner: performance, unsteadiness, overestimation; a row for each traffic. */
static bool draw_stability(const ex_study *s)
{
    static const ex_measure shown[] = { EX_M_LAST, EX_M_SD, EX_M_BIAS };
    static const char *const labels[] = { "mean of the last 100 returns", "standard deviation of the last 100 returns",
                                          "expected less got (discounted return)" };
    static const char *const words[] = { "performance", "unsteadiness", "overestimation" };
    static ex_box_chart charts[3 * WORLDS_MOST];
    static ex_panel panels[3 * WORLDS_MOST];
    static char titles[3 * WORLDS_MOST][64];
    double *values = malloc((size_t)seeds * 3 * GROUPS_MOST * sizeof *values);
    const double *list[3 * GROUPS_MOST];
    int32_t counts[LEARNERS], w, a, m, k;
    ex_color colors[LEARNERS];
    char subtitle[160];
    ex_figure figure;
    bool ok = values != NULL;

    if (!ok) ex_fail("no memory for the picture");
    for (a = 0; a < LEARNERS; a++) {
        counts[a] = seeds;
        colors[a] = ex_palette(a);
    }
    for (w = 0; ok && w < world_count; w++) {
        for (m = 0; m < 3; m++) {
            ex_box_chart *chart = &charts[3 * w + m];
            for (a = 0; a < LEARNERS; a++) {
                int32_t at = (3 * w + m) * LEARNERS + a;
                double *box = values + (size_t)at * (size_t)seeds;
                for (k = 0; k < seeds; k++) box[k] = ex_run_measure(ex_study_find(s, w * LEARNERS + a, k), shown[m]);
                list[at] = box;
            }
            snprintf(titles[3 * w + m], sizeof titles[0], "%s traffic: %s", traffic_names[worlds[w]], words[m]);
            chart->title = titles[3 * w + m];
            chart->y.label = labels[m];
            chart->categories = learner_titles;
            chart->category_count = LEARNERS;
            chart->values = &list[(3 * w + m) * LEARNERS];
            chart->counts = counts;
            chart->colors = colors;
            panels[3 * w + m].box = chart;
        }
    }
    memset(&figure, 0, sizeof figure);
    snprintf(subtitle, sizeof subtitle, "%s cluster, %d seeds, %d episodes", ex_mode_names[mode], (int)seeds,
             (int)episodes);
    figure.title = "What the seeds make of it";
    figure.subtitle = subtitle;
    figure.note = "Boxes: quartiles and median over the seeds, a dot for the mean. Overestimation: the value the "
                  "network gives a state, less the discounted return that follows it.";
    figure.panels = panels;
    figure.panel_count = 3 * world_count;
    figure.columns = 3;
    ok = ok && ex_figure_write(&figure, 1600, 160 + 400 * world_count, ex_path_join(how.out, "stability.png").text);
    free(values);
    return ok;
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static int report(const ex_study *s)
{
    claim claims[CLAIMS_MOST];
    int32_t n = claims_make(s, claims);
    bool ok = write_csv(s) && ex_study_write_runs(s) && ex_write_curves(s, seeds, window, group_list) &&
              write_results(s, claims, n) && draw_curves(s) && draw_stability(s);

    if (ok && !how.quiet) print_results(s, claims, n);
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
