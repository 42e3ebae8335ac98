/* paper_tables.c - the tables and figures of two papers on learned load balancing, made anew in the flow-level world

   [1] "Multi-Agent Reinforcement Learning for Network Load Balancing in Data Center", CIKM 2022: Tables 3 to 7,
       Figures 7 to 12; its world are the presets moderate and large
   [2] "Reinforced Workload Distribution Fairness", 2021: a poster's Tables A and B; presets seed4-a and seed4-b
   and an ablation of the learners: with and without memory, each reward, each set of actions, each algorithm,
   smoothing.

   Shows how to train many learners and to judge them beside the classical rules, run by run with the same arrivals
   (lab.h, on marl.h and models.h). What is trained and what is judged is kept in the folder, file by file: a run that
   was stopped, by whatever, goes on with the same command.

   Build:   make build/paper_tables
   Run:     build/paper_tables --quick                        five minutes on two cores: shows that it works
            build/paper_tables --out out/paper                a night
            build/paper_tables --only table3,figure9 --seeds 5 --out out/paper
   Prints:  each table beside the published figures, and in words which claims of the papers hold here
   Writes:  report.md, results.json, figure7.png ... figure12.png, ablation.png; models/ (each with its learning curve)
            and cells/ (the runs of each cell; picks.txt and steps.txt: what figures 11 and 12 measured); seconds.csv:
            what training and judging took

   Classical rules are told the true capacities, as in the papers. What is learned is told nothing: equal weights. No
   guard rail is in force. Models never meet in training what they are judged on: arrivals of training come from another
   random stream. An estimate's 95 % interval is Student's t over runs, or over trained models, whichever is wider. */

#include "lab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- settings ------------------------------------------------------------------------------------------------ */

static const char *const part_names[] = { "table3",   "table4",   "table5",   "table6",  "table7",
                                          "figure7",  "figure8",  "figure9",  "figure10", "figure11",
                                          "figure12", "tablea",   "tableb",   "ablation", NULL };
enum {
    TABLE3, TABLE7 = 4, FIGURE7, FIGURE8, FIGURE9, FIGURE10, FIGURE11, FIGURE12, TABLE_A, TABLE_B, ABLATION, PARTS
};

static uint32_t parts = (1u << PARTS) - 1;
static int32_t episodes;
static bool quick;
static ex_lab lab = { .out = "out/paper_tables", .seed = 1 };

static ex_option options[] = {
    EX_CHOICES("only", &parts, part_names, "parts of it, by comma"),
    EX_INT("seeds", &lab.seeds, 0, 100, "N", "models trained of each kind; 0: 3, short form 1"),
    EX_INT("episodes", &episodes, 0, 100000, "N", "to train each for; 0: as published (72; rlb-sac 20), short form 16"),
    EX_INT("runs", &lab.runs, 0, 1000, "N", "that each cell is judged on; 0: 10, short form 3"),
    EX_SEED("seed", &lab.seed, "the first of the seeds"),
    EX_FLAG("quick", &quick, "short form: few and short episodes, one model of each; shows that it works, no more"),
    EX_INT("jobs", &lab.jobs, 0, 4096, "N", "processes at a time; 0: one for every processor"),
    EX_STRING("out", &lab.out, "DIR", "folder for the results; what it holds already is not done again"),
    EX_FLAG("quiet", &lab.quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "paper_tables",
    .summary = "the tables and figures of two papers, made anew beside the published ones",
    .details = "A stopped run goes on with the same command. Models and cells are known by their settings and by the\n"
               "version: who changes the code takes another folder.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- worlds -------------------------------------------------------------------------------------------------- */

enum { MODERATE, LARGE, PAIR, FOUR, EIGHT, WORLDS };

static ex_lab_world worlds[WORLDS] = {
    { "moderate", RLLB_ENV_PRESET_MODERATE, 0, 60, 0.1, true },
    { "large", RLLB_ENV_PRESET_LARGE, 0, 60, 0.1, false },
    { "pair", RLLB_ENV_PRESET_SEED4_A, 0, 155, 0, false },
    { "four", RLLB_ENV_PRESET_SEED4_B, 0, 155, 0, false },
    { "eight", RLLB_ENV_PRESET_SEED4_B, 8, 155, 0, false },
};

/* ---- numbers in words ---------------------------------------------------------------------------------------- */

static const ex_estimate no_estimate = { (double)NAN, (double)NAN, (double)NAN };

static ex_estimate estimate(int32_t row, int32_t over, int32_t number)
{
    return ex_lab_estimate(&lab, row, over, (ex_lab_number)number);
}

static double half_of(ex_estimate e)
{
    return isfinite(e.high) ? e.high - e.mean : 0;
}

/* "61.2 ± 1.1" */
static const char *estimate_text(ex_estimate e, double unit, int32_t decimals, char text[64])
{
    if (!isfinite(e.mean)) snprintf(text, 64, "-");
    else if (!isfinite(e.high)) snprintf(text, 64, "%.*f", (int)decimals, e.mean * unit);
    else snprintf(text, 64, "%.*f \302\261 %.*f", (int)decimals, e.mean * unit, (int)decimals, half_of(e) * unit);
    return text;
}

static const char *ms_text(ex_estimate e, char text[64])
{
    return estimate_text(e, 1000, e.mean < 0.01 ? 2 : e.mean < 1 ? 1 : 0, text);
}

/* "0.94 [0.91, 0.97]" */
static const char *ratio_text(ex_estimate e, char text[64])
{
    bool exact = isfinite(e.high) && e.high - e.low < 1e-12;
    int d = e.mean >= 10 ? 1 : e.mean < 0.2 || fabs(e.mean - 1) < 0.02 ? 3 : 2;

    if (!isfinite(e.mean)) snprintf(text, 64, "-");
    else if (exact && fabs(e.mean - 1) < 1e-12) snprintf(text, 64, "1");
    else if (!isfinite(e.high)) snprintf(text, 64, "%.*f", d, e.mean);
    else snprintf(text, 64, "%.*f [%.*f, %.*f]", d, e.mean, d, e.low, d, e.high);
    return text;
}

/* ---- the report ---------------------------------------------------------------------------------------------- */

static ex_text report;

static bool wanted(int32_t part)
{
    return parts >> part & 1;
}

static bool aloud(void)
{
    return !lab.planning && !lab.quiet;
}

/* A table for the terminal and for the report at once. */
typedef struct grid {
    ex_table table;
    int32_t cells, rows;
} grid;

/* Lines of at most so many letters, broken at blanks and where the text is. */
static void print_wrapped(const char *text)
{
    enum { WIDE = 118 };

    while (*text) {
        size_t line = strcspn(text, "\n"), fits = line;
        if (fits > WIDE) {
            for (fits = WIDE; fits > 0 && text[fits] != ' '; fits--) {}
            if (fits == 0) fits = line;
        }
        printf("%.*s\n", (int)fits, text);
        text += fits + (text[fits] != '\0');
    }
}

static void heading(const char *title, const char *words)
{
    char form[200] = "";

    if (quick) {
        snprintf(form, sizeof form, "SHORT FORM: few and short episodes, %d model%s of each, %d short runs: shows "
                 "that it works, proves nothing.", (int)lab.seeds, lab.seeds == 1 ? "" : "s", (int)lab.runs);
    }
    ex_text_printf(&report, "\n## %s\n\n%s\n%s%s", title, words, form, quick ? "\n" : "");
    if (!aloud()) return;
    printf("\n%s\n", title);
    print_wrapped(words);
    print_wrapped(form);
}

static void grid_cell(grid *g, const char *text)
{
    ex_table_cell(&g->table, "%s", text);
    ex_text_printf(&report, "%s| %s ", g->cells++ == 0 && g->rows == 0 ? "\n" : "", text);
}

static void grid_row(grid *g)
{
    int32_t i;

    ex_table_row(&g->table);
    ex_text_printf(&report, "|\n");
    for (i = 0; g->rows == 0 && i < g->cells; i++) ex_text_printf(&report, "|---");
    if (g->rows++ == 0) ex_text_printf(&report, "|\n");
    g->cells = 0;
}

static void grid_heading(grid *g, const char *const *names, int32_t count)
{
    int32_t i;

    for (i = 0; i < count; i++) grid_cell(g, names[i]);
    grid_row(g);
}

static void grid_end(grid *g)
{
    if (aloud()) ex_table_print(&g->table, stdout);
    ex_table_free(&g->table);
}

/* ---- claims ---- */

/* What a paper says, as numbers that must lie in a range. */
typedef struct claim {
    char source[48], words[160];
    ex_text evidence;
    int32_t holds, fails, open; /* of its tests: the interval inside the range, outside, across its end */
} claim;

enum { CLAIMS_MAX = 64 };
static claim claims[CLAIMS_MAX];
static int32_t claim_count;

static void claim_open(const char *source, const char *words)
{
    claim *c = &claims[claim_count++];

    memset(c, 0, sizeof *c);
    snprintf(c->source, sizeof c->source, "%s", source);
    snprintf(c->words, sizeof c->words, "%s", words);
}

/* `at` says where. An estimate without an interval decides nothing. */
static void claim_test(const char *at, ex_estimate e, double low, double high)
{
    claim *c = &claims[claim_count - 1];
    char text[64];

    if (isfinite(e.high) && e.low >= low && e.high <= high) c->holds++;
    else if (isfinite(e.high) && (e.high < low || e.low > high)) c->fails++;
    else c->open++;
    ex_text_printf(&c->evidence, "%s%s %s", c->evidence.size ? "; " : "", at, ratio_text(e, text));
}

static const char *verdict_of(const claim *c)
{
    if (c->holds > 0 && c->fails + c->open == 0) return "holds";
    if (c->fails > 0 && c->holds + c->open == 0) return "does not hold";
    if (c->holds > 0 || c->fails > 0) return c->fails > 0 && c->holds == 0 ? "does not hold, in part open" : "in part";
    return "open";
}

static void claims_clear(void)
{
    int32_t i;

    for (i = 0; i < claim_count; i++) ex_text_free(&claims[i].evidence);
    claim_count = 0;
}

/* Tests apart by semicolons, a few to a line. */
static void print_evidence(const char *text)
{
    int32_t wide = 0;

    while (*text) {
        size_t length = strcspn(text, ";");
        if (wide + (int32_t)length > 112 || wide == 0) {
            printf("\n        ");
            wide = 8;
        }
        printf("%.*s%s", (int)length, text, text[length] ? "; " : "");
        wide += (int32_t)length + 2;
        text += length + (text[length] ? 2 : 0); /* a blank behind each semicolon */
    }
    printf("\n");
}

static void add_claims(void)
{
    int32_t i, holds = 0, fails = 0, partly = 0;
    char words[600];

    for (i = 0; i < claim_count; i++) {
        holds += strcmp(verdict_of(&claims[i]), "holds") == 0;
        fails += strncmp(verdict_of(&claims[i]), "does", 4) == 0;
        partly += strcmp(verdict_of(&claims[i]), "in part") == 0;
    }
    snprintf(words, sizeof words,
             "Of %d claims %d hold in our world, %d do not, %d hold in part, %d are open: the intervals do not "
             "decide.\nA claim holds if the whole interval of each estimate lies where the claim says, and does not if "
             "all of it lies elsewhere.\nRatios are of mean times unless it says otherwise, run by run with the same "
             "arrivals.%s",
             (int)claim_count, (int)holds, (int)fails, (int)partly, (int)(claim_count - holds - fails - partly),
             lab.seeds > 1 ? "" : "\nOne model of each was trained: the intervals do not say what another seed would "
                                  "have learnt.");
    heading("Which claims of the papers hold here", words);
    ex_text_printf(&report, "\n| source | claim | in our world | evidence: estimate [95 %% interval] |\n"
                   "|---|---|---|---|\n");
    for (i = 0; i < claim_count; i++) {
        const claim *c = &claims[i];
        ex_text_printf(&report, "| %s | %s | %s | %s |\n", c->source, c->words, verdict_of(c), c->evidence.data);
        if (aloud()) printf("\n%s: %s\n    %s", c->source, c->words, verdict_of(c));
        if (aloud()) print_evidence(c->evidence.data);
    }
}

/* ---- learners ------------------------------------------------------------------------------------------------ */

/* As published; in short form, little of it. */
static ex_marl_settings settings_of(int32_t w, int32_t algo)
{
    ex_marl_settings s;

    ex_marl_settings_default(algo, worlds[w].preset, &s);
    s.servers = worlds[w].servers;
    s.pages = worlds[w].pages;
    if (algo == EX_MARL_RLB_SAC) s.episodes = 20;
    if (algo == EX_MARL_RLB_SAC && w >= PAIR) s.horizon = 107.5; /* published: 60 s and 5 more for each one before */
    if (quick) {
        s.episodes = 16;
        s.horizon = 10;
        if (!s.every_step) s.learn_start = 4;
        if (s.hidden > 64) s.hidden = 64;
    }
    if (episodes > 0) s.episodes = episodes;
    return s;
}

static int32_t method_learner(int32_t w, int32_t method)
{
    static const int32_t algos[] = { EX_MARL_ISAC, EX_MARL_QMIX, EX_MARL_SSAC };
    ex_marl_settings s = settings_of(w, algos[method - EX_PAPER_I_SAC]);
    char name[64];
    int32_t l;

    snprintf(name, sizeof name, "%s-%s", worlds[w].name, ex_marl_algo_names[s.algo]);
    l = ex_lab_learner_of(&lab, name, w, &s);
    if (w == MODERATE) lab.learners[l].judge_every = 4; /* for Figure 7, whether it is wanted now or later */
    return l;
}

/* A row of [1]: ECMP to S-SAC. */
static int32_t method_row(int32_t w, double rate, int32_t method)
{
    static const char *const rules[] = { "ecmp", "awcmp", "wcmp", "lsq", "sed" };
    ex_lab_setting s = { .world = w, .rate = rate };

    if (method < EX_PAPER_I_SAC) s.policy = rules[method];
    else s.learner = method_learner(w, method);
    if (method == EX_PAPER_S_SAC) s.balancers = 1;
    return ex_lab_row(&lab, s);
}

static ex_estimate method_ratio(int32_t w, double rate, int32_t method, int32_t over, int32_t number)
{
    return estimate(method_row(w, rate, method), method_row(w, rate, over), number);
}

/* ---- tables 3 to 7 ------------------------------------------------------------------------------------------- */

static const char *published_text(const ex_paper_time *t, char text[64])
{
    snprintf(text, 64, "%.1f \302\261 %.1f", t->mean, t->sd);
    return text;
}

static void cell_ms(grid *g, ex_estimate e)
{
    char text[64];
    grid_cell(g, ms_text(e, text));
}

static void cell_ratio(grid *g, ex_estimate e)
{
    char text[64];
    grid_cell(g, ratio_text(e, text));
}

static void cell_share(grid *g, ex_estimate e)
{
    char text[64];
    snprintf(text, sizeof text, "%.2f", 100 * e.mean);
    grid_cell(g, isfinite(e.mean) ? text : "-");
}

static void cell_quantile(grid *g, double published_s)
{
    char text[32] = "-";

    if (published_s > 0) snprintf(text, sizeof text, "%.0f", 1000 * published_s);
    grid_cell(g, text);
}

/* Median and 90th percentile, which the notebooks beside the released code have. */
static void table_quantiles(int32_t t)
{
    static const char *const names[] = { "wiki pages", "median, ours", "published", "P90, ours", "published",
                                         "P90 over SED" };
    double rate = ex_paper_rates[t];
    grid g = { .cells = 0 };
    int32_t m, row;

    grid_heading(&g, names, EX_COUNT(names));
    for (m = 0; m < EX_PAPER_METHODS; m++) {
        row = method_row(MODERATE, rate, m);
        grid_cell(&g, ex_paper_methods[m]);
        cell_ms(&g, estimate(row, -1, EX_LAB_WIKI_P50));
        cell_quantile(&g, ex_paper_wiki[t][m][0]);
        cell_ms(&g, estimate(row, -1, EX_LAB_WIKI_P90));
        cell_quantile(&g, ex_paper_wiki[t][m][1]);
        cell_ratio(&g, method_ratio(MODERATE, rate, m, EX_PAPER_SED, EX_LAB_WIKI_P90));
        grid_row(&g);
    }
    grid_end(&g);
}

static void table_moderate(int32_t t)
{
    static const char *const names[] = { "method", "wiki, ours", "published", "static, ours", "published",
                                         "wiki over SED", "lost %" };
    double rate = ex_paper_rates[t];
    char title[120], text[64];
    grid g = { .cells = 0 };
    int32_t m, c, row;

    snprintf(title, sizeof title, "Table %d: moderate scale, %.1f requests/s (load %.2f)", (int)t + 3, rate,
             rate / lab.told[MODERATE].capacity);
    heading(title, "Mean time of a request in ms, with its 95 % interval; published with standard deviations over five "
                   "runs. Ours: see \"Our world\".");
    grid_heading(&g, names, EX_COUNT(names));
    for (m = 0; m < EX_PAPER_METHODS; m++) {
        row = method_row(MODERATE, rate, m);
        grid_cell(&g, ex_paper_methods[m]);
        for (c = 0; c < EX_PAPER_CLASSES; c++) {
            cell_ms(&g, estimate(row, -1, c == EX_PAPER_WIKI ? EX_LAB_WIKI_MEAN : EX_LAB_STATIC_MEAN));
            grid_cell(&g, published_text(&ex_paper_moderate[t][m][c], text));
        }
        cell_ratio(&g, method_ratio(MODERATE, rate, m, EX_PAPER_SED, EX_LAB_WIKI_MEAN));
        cell_share(&g, estimate(row, -1, EX_LAB_LOST));
        grid_row(&g);
    }
    grid_end(&g);
    table_quantiles(t);
}

static void table_large(void)
{
    static const char *const names[] = { "method", "398.5/s, ours", "published", "over SED", "419.3/s, ours",
                                         "published", "over SED", "lost %" };
    grid g = { .cells = 0 };
    char text[64];
    int32_t m, t;

    heading("Table 7: large scale, 398.5 and 419.3 requests/s",
            "Mean time of a request in ms, exponential work of 200 ms on 12 servers of 4 CPUs and 12 of 8 at speed "
            "0.65, six balancers.");
    grid_heading(&g, names, EX_COUNT(names));
    for (m = 0; m < EX_PAPER_METHODS; m++) {
        grid_cell(&g, ex_paper_methods[m]);
        for (t = 0; t < EX_PAPER_LARGE_RATES; t++) {
            double rate = ex_paper_large_rates[t];
            cell_ms(&g, estimate(method_row(LARGE, rate, m), -1, EX_LAB_MEAN));
            grid_cell(&g, published_text(&ex_paper_large[t][m], text));
            cell_ratio(&g, method_ratio(LARGE, rate, m, EX_PAPER_SED, EX_LAB_MEAN));
        }
        cell_share(&g, estimate(method_row(LARGE, ex_paper_large_rates[1], m), -1, EX_LAB_LOST));
        grid_row(&g);
    }
    grid_end(&g);
}

/* One is faster than the other at each of the rates that `which` has bits of; the tables must be wanted. */
static void claim_faster(const char *words, int32_t fast, int32_t slow, int32_t number, uint32_t which)
{
    char at[32];
    int32_t t;

    which &= parts & 15;
    if (!which) return;
    claim_open("[1] Tables 3 to 6", words);
    for (t = 0; t < EX_PAPER_RATES; t++) {
        if (!(which >> t & 1)) continue;
        snprintf(at, sizeof at, "%.1f/s", ex_paper_rates[t]);
        claim_test(at, method_ratio(MODERATE, ex_paper_rates[t], fast, slow, number), -HUGE_VAL, 1);
    }
}

static void claims_moderate(void)
{
    claim_faster("wiki: RLB-QMIX is faster than SED below 700/s", EX_PAPER_QMIX, EX_PAPER_SED, EX_LAB_WIKI_MEAN, 7);
    claim_faster("static: RLB-QMIX is faster than SED below 700/s", EX_PAPER_QMIX, EX_PAPER_SED, EX_LAB_STATIC_MEAN, 7);
    claim_faster("wiki: at 796.3/s SED is faster than RLB-QMIX", EX_PAPER_SED, EX_PAPER_QMIX, EX_LAB_WIKI_MEAN, 8);
    claim_faster("static: at 796.3/s I-SAC is faster than RLB-QMIX", EX_PAPER_I_SAC, EX_PAPER_QMIX,
                 EX_LAB_STATIC_MEAN, 8);
    claim_faster("wiki: RLB-QMIX is faster than LSQ, which is told nothing either", EX_PAPER_QMIX, EX_PAPER_LSQ,
                 EX_LAB_WIKI_MEAN, 15);
    claim_faster("wiki: RLB-QMIX is faster than I-SAC below 700/s (selfish is not best)", EX_PAPER_QMIX,
                 EX_PAPER_I_SAC, EX_LAB_WIKI_MEAN, 7);
    claim_faster("wiki: RLB-QMIX is faster than S-SAC", EX_PAPER_QMIX, EX_PAPER_S_SAC, EX_LAB_WIKI_MEAN, 15);
    claim_faster("wiki: I-SAC is faster than S-SAC above 600/s", EX_PAPER_I_SAC, EX_PAPER_S_SAC, EX_LAB_WIKI_MEAN, 14);
    claim_faster("wiki: SED is faster than LSQ", EX_PAPER_SED, EX_PAPER_LSQ, EX_LAB_WIKI_MEAN, 15);
    claim_faster("wiki: LSQ is faster than WCMP", EX_PAPER_LSQ, EX_PAPER_WCMP, EX_LAB_WIKI_MEAN, 15);
    claim_faster("wiki: LSQ is faster than AWCMP", EX_PAPER_LSQ, EX_PAPER_AWCMP, EX_LAB_WIKI_MEAN, 15);
    claim_faster("wiki: WCMP is faster than ECMP", EX_PAPER_WCMP, EX_PAPER_ECMP, EX_LAB_WIKI_MEAN, 15);
    claim_faster("wiki: AWCMP is faster than ECMP", EX_PAPER_AWCMP, EX_PAPER_ECMP, EX_LAB_WIKI_MEAN, 15);
}

static void claim_large(const char *words, int32_t a, int32_t over, double most, uint32_t which)
{
    int32_t t;

    claim_open("[1] Table 7", words);
    for (t = 0; t < EX_PAPER_LARGE_RATES; t++) {
        ex_estimate e = method_ratio(LARGE, ex_paper_large_rates[t], a, over, EX_LAB_MEAN);
        if (which >> t & 1) claim_test(t ? "419.3/s" : "398.5/s", e, -HUGE_VAL, most);
    }
}

static void claims_large(void)
{
    if (!wanted(TABLE7)) return;
    claim_large("LSQ is faster than SED at 398.5/s", EX_PAPER_LSQ, EX_PAPER_SED, 1, 1);
    claim_large("SED is faster than LSQ at 419.3/s", EX_PAPER_SED, EX_PAPER_LSQ, 1, 2);
    claim_large("RLB-QMIX is within 5 % of LSQ at 398.5/s", EX_PAPER_QMIX, EX_PAPER_LSQ, 1.05, 1);
    claim_large("RLB-QMIX is within 5 % of SED at 419.3/s", EX_PAPER_QMIX, EX_PAPER_SED, 1.05, 2);
    claim_large("I-SAC is within 5 % of LSQ at 398.5/s", EX_PAPER_I_SAC, EX_PAPER_LSQ, 1.05, 1);
    claim_large("I-SAC is within 5 % of SED at 419.3/s", EX_PAPER_I_SAC, EX_PAPER_SED, 1.05, 2);
    claim_large("RLB-QMIX is faster than I-SAC", EX_PAPER_QMIX, EX_PAPER_I_SAC, 1, 3);
    claim_large("I-SAC is faster than S-SAC", EX_PAPER_I_SAC, EX_PAPER_S_SAC, 1, 3);
    claim_large("S-SAC is faster than AWCMP", EX_PAPER_S_SAC, EX_PAPER_AWCMP, 1, 3);
    claim_large("AWCMP is faster than WCMP", EX_PAPER_AWCMP, EX_PAPER_WCMP, 1, 3);
    claim_large("WCMP is faster than ECMP", EX_PAPER_WCMP, EX_PAPER_ECMP, 1, 3);
}

/* ---- tables A and B of [2] ----------------------------------------------------------------------------------- */

enum { A_LOADS = 5, B_SHAPES = 4, A_ROWS = 5, B_ROWS = 7 };

typedef struct poster_row {
    const char *name, *policy;  /* NULL: learned */
    int32_t reward;
    double published[2][A_LOADS];
} poster_row;

static const poster_row rows_a[A_ROWS] = {
    { "ECMP", "ecmp", 0, EX_PAPER_A_ECMP },
    { "WCMP", "wcmp", 0, EX_PAPER_A_WCMP },
    { "LSQ", "lsq", 0, EX_PAPER_A_LSQ },
    { "SED", "sed", 0, EX_PAPER_A_SED },
    { "RLB-SAC", NULL, RLLB_REWARD_JAIN, EX_PAPER_A_RLB },
};
static const poster_row rows_b[B_ROWS] = {
    { "SED", "sed", 0, EX_PAPER_B_SED },
    { "LSQ", "lsq", 0, EX_PAPER_B_LSQ },
    { "WCMP", "wcmp", 0, EX_PAPER_B_WCMP },
    { "ECMP", "ecmp", 0, EX_PAPER_B_ECMP },
    { "RLB-SAC-J", NULL, RLLB_REWARD_JAIN, EX_PAPER_B_RLB_J },
    { "RLB-SAC-G", NULL, RLLB_REWARD_SINE, EX_PAPER_B_RLB_G },
    { "RLB-SAC-B", NULL, RLLB_REWARD_PRODUCT, EX_PAPER_B_RLB_B },
};
static const double loads_a[A_LOADS] = { 0.6, 0.7, 0.8, 0.9, 1 };
static const char *const names_a[A_LOADS] = { "60 %", "70 %", "80 %", "90 %", "100 %" };
static const struct { int32_t world, balancers; } shapes_b[B_SHAPES] = { { FOUR, 1 }, { FOUR, 2 }, { EIGHT, 1 },
                                                                         { EIGHT, 2 } };
static const char *const names_b[B_SHAPES] = { "1 LB, 4 servers", "2 LB, 4 servers", "1 LB, 8 servers",
                                               "2 LB, 8 servers" };

/* Learnt at the very load it is judged at, as in the poster; there by its last episode, here by a model on held-out
   arrivals. */
static int32_t poster_cell(const poster_row *r, int32_t w, int32_t balancers, double load)
{
    ex_lab_setting s = { .world = w, .rate = load * lab.told[w].capacity, .balancers = balancers, .policy = r->policy };
    ex_marl_settings m;
    char name[64];

    if (r->policy) return ex_lab_row(&lab, s);
    m = settings_of(w, EX_MARL_RLB_SAC);
    m.reward = r->reward;
    m.balancers = balancers;
    m.rates.count = 1;
    m.rates.values[0] = s.rate;
    snprintf(name, sizeof name, "%s-%d-%.0f-rlb-sac-%s", worlds[w].name, (int)balancers, 100 * load,
             ex_marl_reward_names[m.reward]);
    s.learner = ex_lab_learner_of(&lab, name, w, &m);
    return ex_lab_row(&lab, s);
}

static int32_t cell_a(int32_t r, int32_t c)
{
    return poster_cell(&rows_a[r], PAIR, 1, loads_a[c]);
}

static int32_t cell_b(int32_t r, int32_t c)
{
    return poster_cell(&rows_b[r], shapes_b[c].world, shapes_b[c].balancers, 0.7);
}

static void poster_grid(const poster_row *rows, int32_t row_count, const char *const *columns, int32_t column_count,
                        int32_t (*cell)(int32_t r, int32_t c), const int32_t number[2], const char *const what[2])
{
    char text[64], both[128];
    int32_t v, r, c;

    for (v = 0; v < 2; v++) {
        grid g = { .cells = 0 };
        grid_cell(&g, what[v]);
        for (c = 0; c < column_count; c++) grid_cell(&g, columns[c]);
        grid_row(&g);
        for (r = 0; r < row_count; r++) {
            grid_cell(&g, rows[r].name);
            for (c = 0; c < column_count; c++) {
                estimate_text(estimate(cell(r, c), -1, number[v]), 1, 3, text);
                snprintf(both, sizeof both, "%s (%.3f)", text, rows[r].published[v][c]);
                grid_cell(&g, both);
            }
            grid_row(&g);
        }
        grid_end(&g);
    }
}

static void tables_poster(void)
{
    static const int32_t in_a[2] = { EX_LAB_FAIR, EX_LAB_RESIDUAL }, in_b[2] = { EX_LAB_RESIDUAL, EX_LAB_RESIDUAL_MAX };
    static const char *const what_a[2] = { "fairness (Jain)", "mean residual time, s" };
    static const char *const what_b[2] = { "mean residual time, s", "greatest residual time, s" };

    if (wanted(TABLE_A)) {
        heading("Table A of [2]: identical tasks of 100 ms on 4 and 2 CPUs",
                "Ours (published). One balancer, runs from an empty system, looks every 0.5 s. At 100 % queues grow: "
                "the way there is shown. RLB-SAC is trained at the load of its column.");
        poster_grid(rows_a, A_ROWS, names_a, A_LOADS, cell_a, in_a, what_a);
    }
    if (wanted(TABLE_B)) {
        heading("Table B of [2]: more servers and a second balancer",
                "Ours (published). Load and law are not printed; exponential tasks of 200 ms at 70 % are inferred. "
                "RLB-SAC learns by J (Jain), G (sine) and B (product).");
        poster_grid(rows_b, B_ROWS, names_b, B_SHAPES, cell_b, in_b, what_b);
    }
}

static void claim_a(const char *words, int32_t a, int32_t over, int32_t number, double low, double high)
{
    int32_t c;

    claim_open("[2] Table A", words);
    for (c = 0; c + 1 < A_LOADS; c++) {
        claim_test(names_a[c], estimate(cell_a(a, c), cell_a(over, c), number), low, high);
    }
}

static void claim_b(const char *words, int32_t a, int32_t over)
{
    int32_t c;

    claim_open("[2] Table B", words);
    for (c = 0; c < B_SHAPES; c++) {
        claim_test(names_b[c], estimate(cell_b(a, c), cell_b(over, c), EX_LAB_RESIDUAL), -HUGE_VAL, 1);
    }
}

static void claims_poster(void)
{
    if (wanted(TABLE_A)) {
        claim_a("RLB-SAC is fairer than LSQ (ratio of Jain's index, 60 to 90 %)", 4, 2, EX_LAB_FAIR, 1, HUGE_VAL);
        claim_a("RLB-SAC is less fair than SED, told (60 to 90 %)", 4, 3, EX_LAB_FAIR, -HUGE_VAL, 1);
        claim_a("RLB-SAC keeps less residual time than LSQ (60 to 90 %)", 4, 2, EX_LAB_RESIDUAL, -HUGE_VAL, 1);
        claim_a("LSQ is fairer than WCMP", 2, 1, EX_LAB_FAIR, 1, HUGE_VAL);
        claim_a("SED is fairer than LSQ", 3, 2, EX_LAB_FAIR, 1, HUGE_VAL);
    }
    if (wanted(TABLE_B)) {
        claim_b("RLB-SAC-J keeps less residual time than LSQ", 4, 1);
        claim_b("RLB-SAC-G keeps less residual time than LSQ", 5, 1);
        claim_b("RLB-SAC-B keeps less residual time than LSQ", 6, 1);
        claim_b("SED, told, keeps less than RLB-SAC-J", 0, 4);
        claim_b("SED, told, keeps less than RLB-SAC-G", 0, 5);
        claim_b("SED, told, keeps less than RLB-SAC-B", 0, 6);
        claim_b("LSQ keeps less than WCMP", 1, 2);
        claim_b("WCMP keeps less than ECMP", 2, 3);
    }
}

/* ---- ablation ------------------------------------------------------------------------------------------------ */

typedef struct variant {
    const char *name, *key;
    int32_t algo, reward, actions, rnn; /* -1: as the algorithm has it */
    double smoothing;                   /* below 0: the same */
} variant;

#define QMIX_BUT(name, key, reward, actions, rnn, smoothing) \
    { name, key, EX_MARL_QMIX, reward, actions, rnn, smoothing }
static const variant variants[] = {
    QMIX_BUT("QMIX", NULL, -1, -1, -1, -1),
    QMIX_BUT("no memory (no GRU)", "no-gru", -1, -1, EX_MARL_NO_RNN, -1),
    QMIX_BUT("reward jain", "jain", RLLB_REWARD_JAIN, -1, -1, -1),
    QMIX_BUT("reward sine", "sine", RLLB_REWARD_SINE, -1, -1, -1),
    QMIX_BUT("reward var", "var", RLLB_REWARD_VARIANCE, -1, -1, -1),
    QMIX_BUT("reward var-log", "var-log", RLLB_REWARD_LOG_VARIANCE, -1, -1, -1),
    QMIX_BUT("reward max", "max", RLLB_REWARD_MAX, -1, -1, -1),
    QMIX_BUT("reward var and var-log", "var-both", RLLB_REWARD_VARIANCE_BOTH, -1, -1, -1),
    QMIX_BUT("reward mean", "mean", RLLB_REWARD_MEAN, -1, -1, -1),
    QMIX_BUT("reward mean-log", "mean-log", RLLB_REWARD_MEAN_LOG, -1, -1, -1),
    QMIX_BUT("actions 1, 1.5, 2", "code", -1, EX_MARL_CODE, -1, -1),
    QMIX_BUT("actions 1/4 to 4", "wide", -1, EX_MARL_WIDE, -1, -1),
    QMIX_BUT("actions are steps", "steps", -1, EX_MARL_STEPS, -1, -1),
    QMIX_BUT("weights smoothed by 0.5", "smooth", -1, -1, -1, 0.5),
    { "VDN", NULL, EX_MARL_VDN, -1, -1, -1, -1 },
    { "IQL", NULL, EX_MARL_IQL, -1, -1, -1, -1 },
    { "I-SAC", NULL, EX_MARL_ISAC, -1, -1, -1, -1 },
    { "S-SAC, one balancer", NULL, EX_MARL_SSAC, -1, -1, -1, -1 },
    { "Distr-LB (var and var-log)", NULL, EX_MARL_DISTR_LB, -1, -1, -1, -1 },
    { "RLB-SAC, continuous", NULL, EX_MARL_RLB_SAC, -1, -1, -1, -1 },
};
enum { VARIANTS = EX_COUNT(variants), ABLATION_RATES = 2, DISTR_LB = VARIANTS - 2 };
static const double ablation_rates[ABLATION_RATES] = { 690.9, 796.3 };

static int32_t variant_row(int32_t v, double rate)
{
    const variant *x = &variants[v];
    ex_marl_settings m = settings_of(MODERATE, x->algo);
    ex_lab_setting s = { .world = MODERATE, .rate = rate };
    char name[64];

    if (x->reward >= 0) m.reward = x->reward;
    if (x->actions >= 0) m.actions = x->actions;
    if (x->rnn >= 0) m.rnn = x->rnn;
    if (x->smoothing >= 0) m.smoothing = x->smoothing;
    if (x->algo == EX_MARL_SSAC) s.balancers = 1;
    snprintf(name, sizeof name, "moderate-%s%s%s", ex_marl_algo_names[x->algo], x->key ? "-" : "",
             x->key ? x->key : "");
    s.learner = ex_lab_learner_of(&lab, name, MODERATE, &m);
    return ex_lab_row(&lab, s);
}

static ex_estimate variant_ratio(int32_t v, int32_t rate, int32_t number)
{
    return estimate(variant_row(v, ablation_rates[rate]), variant_row(0, ablation_rates[rate]), number);
}

static void table_ablation(void)
{
    static const char *const names[] = { "variant", "690.9/s, ms", "over the first", "P90, over the first",
                                         "796.3/s, ms", "over the first", "P90, over the first", "over SED" };
    double busiest = ablation_rates[1];
    grid g = { .cells = 0 };
    int32_t v, r, sed = method_row(MODERATE, busiest, EX_PAPER_SED);

    heading("Ablation: QMIX at moderate scale, one thing changed at a time",
            "Mean time of all requests, and ratios run by run; below 1 is better than the first. A range that has 1 "
            "in it shows no difference.");
    grid_heading(&g, names, EX_COUNT(names));
    for (v = 0; v < VARIANTS; v++) {
        grid_cell(&g, variants[v].name);
        for (r = 0; r < ABLATION_RATES; r++) {
            cell_ms(&g, estimate(variant_row(v, ablation_rates[r]), -1, EX_LAB_MEAN));
            cell_ratio(&g, variant_ratio(v, r, EX_LAB_MEAN));
            cell_ratio(&g, variant_ratio(v, r, EX_LAB_P90));
        }
        cell_ratio(&g, estimate(variant_row(v, busiest), sed, EX_LAB_MEAN));
        grid_row(&g);
    }
    grid_end(&g);
}

static void claims_ablation(void)
{
    int32_t r;

    claim_open("follow-up, NeurIPS 2022", "Distr-LB with -var - log var is faster than QMIX");
    for (r = 0; r < ABLATION_RATES; r++) {
        claim_test(r ? "796.3/s" : "690.9/s", variant_ratio(DISTR_LB, r, EX_LAB_MEAN), -HUGE_VAL, 1);
    }
    claim_open("[1], left to future work", "the GRU helps: QMIX without it is slower");
    for (r = 0; r < ABLATION_RATES; r++) {
        claim_test(r ? "796.3/s" : "690.9/s", variant_ratio(1, r, EX_LAB_MEAN), 1, HUGE_VAL);
    }
}

/* ---- pictures ------------------------------------------------------------------------------------------------ */

static const char *short_form(void)
{
    return quick ? "SHORT FORM: models are barely trained; shows that the program works, proves nothing." : NULL;
}

static bool picture_done(bool ok, const char *name)
{
    ex_text_printf(&report, "\n![%s](%s)\n", name, name);
    return ok;
}

/* ---- figure 7 ----- */

/* Of a learner, over its updates: mean, least and greatest of its models. */
typedef struct taught {
    double *x, *y, *low, *high;
    int32_t count;
} taught;

static bool taught_read(int32_t l, const char *column, taught *t)
{
    ex_lab_curve c;
    int32_t k, i;

    memset(t, 0, sizeof *t);
    for (k = 0; k < lab.seeds; k++) {
        const double *updates, *of;
        if (!ex_lab_curve_read(&lab, l, k, true, &c)) return false;
        if (k == 0) {
            t->count = c.count;
            t->x = calloc(4 * (size_t)c.count, sizeof *t->x);
            if (!t->x) return ex_fail("not enough memory") == EX_OK;
            t->y = t->x + c.count;
            t->low = t->y + c.count;
            t->high = t->low + c.count;
        }
        updates = ex_lab_curve_column(&c, "updates");
        of = ex_lab_curve_column(&c, column);
        for (i = 0; i < t->count; i++) {
            double v = i < c.count ? 1000 * of[i] : (double)NAN; /* it diverged */
            if (k == 0) t->x[i] = updates[i];
            t->y[i] += v / lab.seeds;
            t->low[i] = k == 0 ? v : fmin(t->low[i], v);
            t->high[i] = k == 0 ? v : fmax(t->high[i], v);
        }
        ex_lab_curve_free(&c);
    }
    return true;
}

enum { TAUGHT = 3, TAUGHT_RULES = 2 };
static const int32_t taught_methods[TAUGHT] = { EX_PAPER_QMIX, EX_PAPER_I_SAC, EX_PAPER_S_SAC };

/* A panel: lines of the learners, marks of the rules in the same worlds. */
typedef struct taught_panel {
    ex_line_chart chart;
    ex_series lines[TAUGHT];
    ex_reference marks[TAUGHT_RULES];
    taught of[TAUGHT];
} taught_panel;

static bool taught_fill(taught_panel *p, const char *column, const char *title, const double rule_s[TAUGHT_RULES])
{
    static const char *const rules[TAUGHT_RULES] = { "SED, told", "LSQ" };
    int32_t i;

    for (i = 0; i < TAUGHT_RULES; i++) p->marks[i] = (ex_reference){ .label = rules[i], .y = 1000 * rule_s[i] };
    for (i = 0; i < TAUGHT; i++) {
        taught *t = &p->of[i];
        if (!taught_read(method_learner(MODERATE, taught_methods[i]), column, t)) return false;
        p->lines[i] = (ex_series){ .name = ex_paper_methods[taught_methods[i]], .x = t->x, .y = t->y, .count = t->count,
                                   .low = lab.seeds > 1 ? t->low : NULL, .high = lab.seeds > 1 ? t->high : NULL,
                                   .marker = EX_CIRCLE };
    }
    p->chart = (ex_line_chart){ .title = title, .x = { .label = "updates" }, .y = { .label = "ms" }, .series = p->lines,
                                .series_count = TAUGHT, .references = p->marks, .reference_count = TAUGHT_RULES };
    return true;
}

static bool figure7(void)
{
    static const char *const rules[TAUGHT_RULES] = { "sed", "lsq" };
    static taught_panel both[2];
    ex_panel panels[2] = { { .line = &both[0].chart }, { .line = &both[1].chart } };
    double mean[TAUGHT_RULES], p90[TAUGHT_RULES];
    char subtitle[300];
    ex_figure figure = { .title = "Figure 7: learning, moderate scale", .subtitle = subtitle, .note = short_form(),
                         .panels = panels, .panel_count = 2, .columns = 1 };
    int32_t i, l = method_learner(MODERATE, EX_PAPER_QMIX);
    bool ok;

    for (i = 0; i < TAUGHT; i++) method_learner(MODERATE, taught_methods[i]);
    if (lab.planning) return true;
    for (i = 0; i < TAUGHT_RULES; i++) {
        if (ex_lab_judge_rule(&lab, l, rules[i], &mean[i], &p90[i]) != EX_GO_ON) return false;
    }
    memset(both, 0, sizeof both);
    ok = taught_fill(&both[0], "jct_mean", "mean time of a request", mean) &&
         taught_fill(&both[1], "jct_p90", "90th percentile", p90);
    snprintf(subtitle, sizeof subtitle,
             "in %d worlds kept for this, one of each rate of training, without exploration; %d model%s",
             (int)lab.learners[l].settings.rates.count, (int)lab.seeds,
             lab.seeds == 1 ? "" : "s of each, band: least to greatest");
    ok = ok && ex_figure_write(&figure, 1200, 1100, ex_path_join(lab.out, "figure7.png").text);
    for (i = 0; i < TAUGHT; i++) {
        free(both[0].of[i].x);
        free(both[1].of[i].x);
    }
    return ok && picture_done(true, "figure7.png");
}

/* Mean time when all is learnt, over that before anything is: of each model. */
static ex_estimate learnt(int32_t method)
{
    int32_t k, l = method_learner(MODERATE, method);
    double ratio[EX_LAB_SEEDS_MAX];

    if (lab.planning) return no_estimate;
    for (k = 0; k < lab.seeds; k++) {
        const double *jct;
        ex_lab_curve c;
        if (!ex_lab_curve_read(&lab, l, k, true, &c)) return no_estimate;
        jct = ex_lab_curve_column(&c, "jct_mean");
        ratio[k] = jct[c.count - 1] / jct[0];
        ex_lab_curve_free(&c);
    }
    return ex_estimate_t(ratio, lab.seeds);
}

static void claims_learning(void)
{
    claim_open("[1] Figure 7", "QMIX and I-SAC improve (mean time when learnt over that before learning)");
    claim_test("QMIX", learnt(EX_PAPER_QMIX), -HUGE_VAL, 1);
    claim_test("I-SAC", learnt(EX_PAPER_I_SAC), -HUGE_VAL, 1);
    claim_open("[1] Figure 7", "S-SAC struggles: it does not improve");
    claim_test("S-SAC", learnt(EX_PAPER_S_SAC), 0.97, HUGE_VAL);
}

/* ---- figure 8 ----- */

/* A box for each method, over some rates. */
typedef struct boxes {
    ex_box_chart chart;
    const char *names[EX_PAPER_METHODS];
    double *values[EX_PAPER_METHODS];
    const double *const_values[EX_PAPER_METHODS];
    int32_t counts[EX_PAPER_METHODS];
    ex_color colors[EX_PAPER_METHODS];
} boxes;

static void boxes_fill(boxes *b, int32_t w, const double *rates, int32_t rate_count, int32_t spread, double unit,
                       double least)
{
    int32_t rows[EX_PAPER_RATES], m, t;

    for (m = 0; m < EX_PAPER_METHODS; m++) {
        for (t = 0; t < rate_count; t++) rows[t] = method_row(w, rates[t], m);
        b->names[m] = strncmp(ex_paper_methods[m], "RLB-", 4) == 0 ? ex_paper_methods[m] + 4 : ex_paper_methods[m];
        b->colors[m] = ex_palette(m);
        if (lab.planning) continue;
        b->values[m] = ex_lab_spreads(&lab, rows, rate_count, (ex_lab_spread)spread, unit, &b->counts[m]);
        for (t = 0; b->values[m] && t < b->counts[m]; t++) b->values[m][t] = fmax(b->values[m][t], least);
        b->const_values[m] = b->values[m];
    }
    b->chart.categories = b->names;
    b->chart.values = b->const_values;
    b->chart.counts = b->counts;
    b->chart.category_count = EX_PAPER_METHODS;
    b->chart.colors = b->colors;
}

static void boxes_free(boxes *b)
{
    int32_t m;

    for (m = 0; m < EX_PAPER_METHODS; m++) free(b->values[m]);
}

static bool figure8(void)
{
    static boxes both[2];
    ex_panel panels[2] = { { .box = &both[0].chart }, { .box = &both[1].chart } };
    ex_figure figure = { .title = "Figure 8: time of a request, moderate scale, more than 600 requests/s",
                         .subtitle = "690.9, 696.5 and 796.3/s together; boxes: quartiles, line: median, dot: mean; "
                                     "less than 1 ms counts as 1. Classical rules are told the capacities, learned "
                                     "ones nothing.",
                         .note = short_form(), .panels = panels, .panel_count = 2, .columns = 1 };
    bool ok;

    memset(both, 0, sizeof both);
    both[0].chart.title = "wiki pages";
    both[1].chart.title = "static pages";
    both[0].chart.y.label = both[1].chart.y.label = "ms";
    both[0].chart.y.logarithmic = both[1].chart.y.logarithmic = true;
    boxes_fill(&both[0], MODERATE, ex_paper_rates + 1, 3, EX_LAB_WIKI, 1000, 1);
    boxes_fill(&both[1], MODERATE, ex_paper_rates + 1, 3, EX_LAB_STATIC, 1000, 1);
    if (lab.planning) return true;
    ok = ex_figure_write(&figure, 1200, 1300, ex_path_join(lab.out, "figure8.png").text);
    boxes_free(&both[0]);
    boxes_free(&both[1]);
    return picture_done(ok, "figure8.png");
}

static void claims_tail(void)
{
    static const double gain[2] = EX_PAPER_P90_GAIN;
    char words[160], at[32];
    int32_t c, t;

    for (c = 0; c < 2; c++) {
        snprintf(words, sizeof words, "%s: RLB-QMIX is faster than SED at P90 above 600/s (%.2f times there; SED over "
                 "QMIX)", ex_paper_classes[c], gain[c]);
        claim_open("[1] Figure 8", words);
        for (t = 1; t < EX_PAPER_RATES; t++) {
            snprintf(at, sizeof at, "%.1f/s", ex_paper_rates[t]);
            claim_test(at, method_ratio(MODERATE, ex_paper_rates[t], EX_PAPER_SED, EX_PAPER_QMIX,
                                        c == EX_PAPER_WIKI ? EX_LAB_WIKI_P90 : EX_LAB_STATIC_P90), 1, HUGE_VAL);
        }
    }
}

/* ---- figures 9 and 10 ----- */

static bool figure_busy(int32_t w, const double *rates, int32_t rate_count, const char *title, const char *file)
{
    static const char *const weak[2] = { "a server of 2 CPUs", "a server of 4 CPUs" };
    static const char *const strong[2] = { "a server of 4 CPUs", "a server of 8 CPUs" };
    static boxes both[2];
    double ratios[EX_PAPER_METHODS] = { 0 }, errors[EX_PAPER_METHODS] = { 0 };
    ex_reference even = { .label = "even", .y = 1 }, twice = { .label = "as the CPUs", .y = 2 };
    ex_reference marks[2];
    ex_bar_chart bars = { .title = "strong over weak", .y = { .label = "ratio of busy workers" }, .groups = NULL,
                          .category_count = EX_PAPER_METHODS, .values = ratios, .errors = errors,
                          .value_format = "%.2f", .references = marks, .reference_count = 2 };
    ex_panel panels[3] = { { .box = &both[0].chart }, { .box = &both[1].chart }, { .bar = &bars } };
    ex_figure figure = { .title = title, .subtitle = "Workers of a server that serve a request, seen every 0.5 s; "
                                                     "classical rules are told the CPUs, learned ones nothing",
                         .note = short_form(), .panels = panels, .panel_count = 3, .columns = 1 };
    int32_t m, t;
    bool ok;

    memset(both, 0, sizeof both);
    marks[0] = even;
    marks[1] = twice;
    both[0].chart.title = weak[w == LARGE];
    both[1].chart.title = strong[w == LARGE];
    both[0].chart.y.label = both[1].chart.y.label = "busy workers";
    both[0].chart.y.from_zero = both[1].chart.y.from_zero = true;
    boxes_fill(&both[0], w, rates, rate_count, EX_LAB_WEAK, 1, 0);
    boxes_fill(&both[1], w, rates, rate_count, EX_LAB_STRONG, 1, 0);
    for (m = 0; m < EX_PAPER_METHODS; m++) {
        for (t = 0; t < rate_count; t++) {
            ex_estimate e = estimate(method_row(w, rates[t], m), -1, EX_LAB_BUSY_RATIO);
            ratios[m] += e.mean / rate_count;
            errors[m] += half_of(e) / rate_count;
        }
    }
    bars.categories = both[0].names;
    bars.category_colors = both[0].colors;
    if (lab.planning) return true;
    ok = ex_figure_write(&figure, 1200, 1500, ex_path_join(lab.out, file).text);
    boxes_free(&both[0]);
    boxes_free(&both[1]);
    return picture_done(ok, file);
}

static void claim_busy(const char *at, int32_t w, double rate, int32_t method, double low, double high)
{
    claim_test(at, estimate(method_row(w, rate, method), -1, EX_LAB_BUSY_RATIO), low, high);
}

static void claims_busy_moderate(void)
{
    static const char *const at[2] = { "690.9/s", "796.3/s" };
    const double rates[2] = { ex_paper_rates[1], ex_paper_rates[3] }, sed = EX_PAPER_BUSY_SED;
    int32_t t;

    claim_open("[1] Figure 9", "under SED a strong server has 2.33 times the busy workers of a weak one (within 10 %)");
    for (t = 0; t < 2; t++) claim_busy(at[t], MODERATE, rates[t], EX_PAPER_SED, 0.9 * sed, 1.1 * sed);
    claim_open("[1] Figure 9", "under RLB-QMIX both kinds have as many (within 5 %)");
    for (t = 0; t < 2; t++) claim_busy(at[t], MODERATE, rates[t], EX_PAPER_QMIX, 0.95, 1.05);
    claim_open("[1] Figure 9", "RLB-QMIX is more even than SED (ratio of the ratios below 1)");
    for (t = 0; t < 2; t++) {
        claim_test(at[t], method_ratio(MODERATE, rates[t], EX_PAPER_QMIX, EX_PAPER_SED, EX_LAB_BUSY_RATIO), 0, 1);
    }
}

static void claims_busy_large(void)
{
    static const double sed[2] = EX_PAPER_BUSY_SED_LARGE;
    const double *rates = ex_paper_large_rates;

    claim_open("[1] Figure 10", "under SED the ratio is 2.67 at 398.5/s and 2.25 at 419.3/s (within 10 %)");
    claim_busy("398.5/s", LARGE, rates[0], EX_PAPER_SED, 0.9 * sed[0], 1.1 * sed[0]);
    claim_busy("419.3/s", LARGE, rates[1], EX_PAPER_SED, 0.9 * sed[1], 1.1 * sed[1]);
}

/* ---- figure 11: what a pick costs ---------------------------------------------------------------------------- */

/* Numbers measured here and kept in a file, since they tell the time: read them, or measure and write them. */
static bool keep_numbers(const char *name, double *v, int32_t count, bool (*measure)(double *v))
{
    ex_path path = ex_path_join(lab.out, name);
    ex_text text = { 0 };
    char number[32], *at, *end = NULL;
    int32_t i;
    bool ok;

    if (ex_lab_is_there(path.text)) {
        if (!ex_file_read(path.text, (size_t)1 << 24, &text)) return false;
        for (at = text.data, i = 0; i < count; i++, at = end) {
            v[i] = strtod(at, &end);
            if (end == at) break;
        }
        ex_text_free(&text);
        return i == count || ex_fail("%s: not what was measured; without this file it is measured again",
                                     path.text) == EX_OK;
    }
    if (!measure(v)) return false;
    for (i = 0; i < count; i++) ex_text_printf(&text, "%s\n", ex_number_double(v[i], number));
    ok = ex_text_write(&text, path.text);
    ex_text_free(&text);
    return ok;
}

/* A world's balancer, by itself: nobody runs the world. */
typedef struct alone {
    rllb_env_flows *world;
    rllb_balancer *balancer;
    ex_model model;
    double now_s;
    uint64_t key;
    int32_t held[32], at; /* flows that have not ended; -1: none */
} alone;

/* method: of [1]; QMIX stands for all that is learned. */
static bool alone_open(alone *a, int32_t w, int32_t method)
{
    static const char *const rules[] = { "ecmp", "awcmp", "wcmp", "lsq", "sed" };
    rllb_env_flows_desc d = method < EX_PAPER_I_SAC ? lab.told[w].desc : lab.untold[w].desc;
    ex_balance rule[EX_BALANCES_MAX];
    char path[1200];
    int32_t n;

    memset(a, 0, sizeof *a);
    for (n = 0; n < EX_COUNT(a->held); n++) a->held[n] = -1;
    n = 0;
    if (method < EX_PAPER_I_SAC) {
        if (ex_balances_parse("only", rules[method], rule, &n) != EX_OK) return false;
        if (!ex_balance_apply(&rule[0], &d)) return false;
    } else {
        ex_lab_model_path(&lab, method_learner(w, method), 0, ".safetensors", path);
        if (!ex_model_open(path, &a->model) || !ex_model_apply(&a->model, &d)) return false;
    }
    a->world = rllb_env_flows_create(&d);
    if (!a->world) return ex_fail("not enough memory for a world") == EX_OK;
    if (method >= EX_PAPER_I_SAC) ex_model_begin(&d);
    a->balancer = rllb_env_flows_balancer(a->world, 0);
    return true;
}

static void alone_close(alone *a)
{
    rllb_env_flows_destroy(a->world);
    ex_model_close(&a->model);
}

/* One flow comes, the one that came 32 before ends. */
static void alone_flow(alone *a)
{
    int32_t *slot = &a->held[a->at++ % EX_COUNT(a->held)];

    a->now_s += 1.0 / 800;
    if (*slot >= 0) rllb_balancer_done(a->balancer, *slot, a->now_s - 0.04, a->now_s, RLLB_OUTCOME_OK);
    *slot = rllb_balancer_pick(a->balancer, a->key += 0x9E3779B97F4A7C15u, a->now_s);
}

enum { PICKERS = 6, PICK_TIMES = 101, PICK_BATCH = 4000 };
static const int32_t pickers[PICKERS] = { EX_PAPER_ECMP, EX_PAPER_WCMP, EX_PAPER_AWCMP, EX_PAPER_LSQ, EX_PAPER_SED,
                                          EX_PAPER_QMIX };

/* Nanoseconds a flow, pick and end; the methods in turn, so that what disturbs one disturbs all. */
static bool measure_picks(double *v)
{
    alone a[PICKERS];
    int32_t m, i, k;
    bool ok = true;

    memset(a, 0, sizeof a);
    for (m = 0; ok && m < PICKERS; m++) ok = alone_open(&a[m], MODERATE, pickers[m]);
    for (i = 0; ok && i < PICK_TIMES; i++) {
        for (m = 0; m < PICKERS; m++) {
            double from_s;
            rllb_balancer_tick(a[m].balancer, a[m].now_s); /* weights in force are those of a decision */
            from_s = ex_clock_s();
            for (k = 0; k < PICK_BATCH; k++) alone_flow(&a[m]);
            v[m * PICK_TIMES + i] = 1e9 * (ex_clock_s() - from_s) / PICK_BATCH;
        }
    }
    for (m = 0; m < PICKERS; m++) alone_close(&a[m]);
    return ok;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of one over that of the other, with its interval by order statistics of the ratios. */
static ex_estimate median_ratio(const double *a, const double *over, int32_t count)
{
    double ratio[512];
    ex_estimate e;
    int32_t i, aside = (int32_t)(0.98 * sqrt(count)); /* 1.96 standard deviations of a binomial count */

    for (i = 0; i < count; i++) ratio[i] = over ? a[i] / over[i] : a[i];
    qsort(ratio, (size_t)count, sizeof *ratio, by_value);
    e.mean = ratio[count / 2];
    e.low = ratio[count / 2 - aside];
    e.high = ratio[count / 2 + aside];
    return e;
}

static double picks[PICKERS * PICK_TIMES];

static bool figure11(void)
{
    const double *values[PICKERS];
    const char *names[PICKERS];
    static double shown[PICKERS][PICK_TIMES];
    int32_t counts[PICKERS], m, i, slow = 0;
    char note[160];
    ex_box_chart chart = { .title = "Figure 11: what a flow costs a balancer",
                           .subtitle = "pick and end of a flow, seven servers, on the machine at hand; the network of "
                                       "QMIX works between the flows, every 250 ms",
                           .note = note, .y = { .label = "nanoseconds" }, .values = values, .counts = counts,
                           .categories = names, .category_count = PICKERS };

    method_learner(MODERATE, EX_PAPER_QMIX);
    if (lab.planning) return true;
    if (!keep_numbers("cells/picks.txt", picks, EX_COUNT(picks), measure_picks)) return false;
    chart.y.high = 3 * median_ratio(picks + 5 * PICK_TIMES, NULL, PICK_TIMES).mean;
    for (m = 0; m < PICKERS; m++) {
        values[m] = picks + m * PICK_TIMES;
        names[m] = ex_paper_methods[pickers[m]];
        counts[m] = PICK_TIMES;
        for (i = 0; i < PICK_TIMES; i++) {
            shown[m][i] = values[m][i] <= chart.y.high ? values[m][i] : (double)NAN;
            slow += values[m][i] > chart.y.high;
        }
        values[m] = shown[m];
    }
    snprintf(note, sizeof note, "A point is the mean of %d flows; %d points of %d lie above (the machine did something "
             "else).", (int)PICK_BATCH, (int)slow, (int)EX_COUNT(picks));
    return picture_done(ex_box_chart_write(&chart, 0, 0, ex_path_join(lab.out, "figure11.png").text), "figure11.png");
}

static ex_estimate pick_ratio(int32_t method, int32_t over, double unit)
{
    ex_estimate e;

    if (lab.planning) return no_estimate;
    e = median_ratio(picks + method * PICK_TIMES, over < 0 ? NULL : picks + over * PICK_TIMES, PICK_TIMES);
    e.mean *= unit;
    e.low *= unit;
    e.high *= unit;
    return e;
}

static void claims_cost(void)
{
    claim_open("[1] Figure 11", "a flow costs RLB-QMIX at most 10 % more than SED (3.6 % there) and LSQ (8.6 %)");
    claim_test("over SED", pick_ratio(5, 4, 1), 0, 1.1);
    claim_test("over LSQ", pick_ratio(5, 3, 1), 0, 1.1);
    claim_open("[1] Figure 11", "a flow costs less than 1.66 us (there all of the packet's path)");
    claim_test("RLB-QMIX, us", pick_ratio(5, -1, 1e-3), 0, EX_PAPER_PICK_US);
}

/* ---- figure 12: decisions in step ---------------------------------------------------------------------------- */

enum { STEP_TIMES = 101, STEP_KINDS = 4, STEP_FACTORS = 4 };
static const double step_factors[STEP_FACTORS] = { 1, EX_PAPER_STEP_RATIO, 2, 4 };
static const struct { int32_t world, agents; const char *name; } step_kinds[STEP_KINDS] = {
    { MODERATE, 1, "moderate, one alone" },
    { MODERATE, 2, "moderate, 2 in step" },
    { LARGE, 1, "large, one alone" },
    { LARGE, 6, "large, 6 in step" },
};

/* An agent: when told, it decides, says so, and has some flows until it is told again. */
static void agent_live(int32_t w, int from, int to)
{
    alone a;
    char word;
    int32_t i;

    if (!alone_open(&a, w, EX_PAPER_QMIX)) _exit(1);
    while (read(from, &word, 1) == 1) {
        a.now_s += 0.25;
        rllb_balancer_tick(a.balancer, a.now_s);
        if (write(to, &word, 1) != 1) break;
        for (i = 0; i < 50; i++) alone_flow(&a);
    }
    _exit(0);
}

/* Starts one; to[1] is what it is told through, back[0] where it answers. */
static pid_t agent_start(int32_t w, int to[2], int back[2])
{
    pid_t pid;

    if (pipe(to) != 0) return -1;
    if (pipe(back) != 0) {
        close(to[0]);
        close(to[1]);
        return -1;
    }
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        close(to[1]);
        close(back[0]);
        ex_folder_unlock(&lab.lock);
        agent_live(w, to[0], back[1]);
    }
    close(to[0]);
    close(back[1]);
    return pid;
}

/* Microseconds from the word to the last answer, of agents in processes of their own. */
static bool measure_kind(int32_t w, int32_t agents, double *v)
{
    enum { AGENTS_MOST = 8 };
    int to[AGENTS_MOST][2], back[AGENTS_MOST][2];
    const struct timespec pause = { 0, 2000000 }; /* their flows are not timed */
    int32_t i, k, n;
    pid_t pid[AGENTS_MOST];
    bool ok = true;
    char word = 'x';

    for (n = 0; ok && n < agents; n++) ok = (pid[n] = agent_start(w, to[n], back[n])) > 0;
    for (i = -3; ok && i < STEP_TIMES; i++) { /* the first ones wake everything up */
        double from_s = ex_clock_s();
        for (k = 0; ok && k < n; k++) ok = write(to[k][1], &word, 1) == 1;
        for (k = 0; ok && k < n; k++) ok = read(back[k][0], &word, 1) == 1;
        if (i >= 0) v[i] = 1e6 * (ex_clock_s() - from_s);
        nanosleep(&pause, NULL);
    }
    for (k = 0; k < n; k++) {
        if (pid[k] <= 0) continue;
        close(to[k][1]);
        close(back[k][0]);
    }
    for (k = 0; k < n; k++) {
        if (pid[k] > 0) waitpid(pid[k], NULL, 0);
    }
    return ok || ex_fail("cannot run %d agents in step", (int)agents) == EX_OK;
}

static bool measure_steps(double *v)
{
    int32_t k;

    for (k = 0; k < STEP_KINDS; k++) {
        if (!measure_kind(step_kinds[k].world, step_kinds[k].agents, v + k * STEP_TIMES)) return false;
    }
    return true;
}

static double steps[STEP_KINDS * STEP_TIMES];

static int32_t step_row(int32_t w, int32_t factor)
{
    ex_lab_setting s = { .world = w, .rate = w == MODERATE ? ex_paper_rates[1] : ex_paper_large_rates[1] };

    s.learner = method_learner(w, EX_PAPER_QMIX);
    s.step = factor > 0 ? step_factors[factor] : 0;
    return ex_lab_row(&lab, s);
}

static ex_estimate step_ratio(int32_t w, int32_t factor)
{
    return estimate(step_row(w, factor), step_row(w, 0), EX_LAB_MEAN);
}

static bool figure12(void)
{
    const double *values[STEP_KINDS];
    const char *names[STEP_KINDS];
    double y[2][STEP_FACTORS], low[2][STEP_FACTORS], high[2][STEP_FACTORS], x[STEP_FACTORS];
    int32_t counts[STEP_KINDS], k, i;
    ex_box_chart chart = { .title = "What a decision takes",
                           .subtitle = "from the word to the last answer, agents being processes of this machine; a "
                                       "network adds its round trip",
                           .y = { .label = "microseconds", .logarithmic = true }, .values = values, .counts = counts,
                           .categories = names, .category_count = STEP_KINDS };
    ex_series lines[2] = { { .name = "moderate, 690.9/s" }, { .name = "large, 419.3/s" } };
    ex_line_chart line = { .title = "What a longer interval does to QMIX",
                           .subtitle = "mean time of a request over that with decisions every 0.25 s; 0.31: as long as "
                                       "the large testbed took",
                           .x = { .label = "interval between decisions, s" }, .y = { .label = "ratio" },
                           .series = lines, .series_count = 2 };
    ex_panel panels[2] = { { .box = &chart }, { .line = &line } };
    ex_figure figure = { .title = "Figure 12: decisions in step", .note = short_form(), .panels = panels,
                         .panel_count = 2, .columns = 1 };

    for (k = 0; k < 2; k++) {
        for (i = 0; i < STEP_FACTORS; i++) {
            ex_estimate e = i > 0 ? step_ratio(k ? LARGE : MODERATE, i) : (ex_estimate){ 1, 1, 1 };
            x[i] = 0.25 * step_factors[i];
            y[k][i] = e.mean;
            low[k][i] = isfinite(e.low) ? e.low : e.mean;
            high[k][i] = isfinite(e.high) ? e.high : e.mean;
        }
        lines[k].x = x;
        lines[k].y = y[k];
        lines[k].low = low[k];
        lines[k].high = high[k];
        lines[k].count = STEP_FACTORS;
        lines[k].marker = EX_CIRCLE;
    }
    if (lab.planning) return true;
    if (!keep_numbers("cells/steps.txt", steps, EX_COUNT(steps), measure_steps)) return false;
    for (k = 0; k < STEP_KINDS; k++) {
        values[k] = steps + k * STEP_TIMES;
        names[k] = step_kinds[k].name;
        counts[k] = STEP_TIMES;
    }
    return picture_done(ex_figure_write(&figure, 1200, 1200, ex_path_join(lab.out, "figure12.png").text),
                        "figure12.png");
}

/* The interval of agents in step: what is planned, and what they wait for each other. */
static ex_estimate interval_ratio(void)
{
    double large[STEP_TIMES], moderate[STEP_TIMES];
    int32_t i;

    if (lab.planning) return no_estimate;
    for (i = 0; i < STEP_TIMES; i++) {
        moderate[i] = 0.25 + 1e-6 * steps[STEP_TIMES + i];
        large[i] = 0.25 + 1e-6 * steps[3 * STEP_TIMES + i];
    }
    return median_ratio(large, moderate, STEP_TIMES);
}

static void claims_steps(void)
{
    claim_open("[1] Figure 12",
               "in step, the interval is 1.24 times as long at large scale (here: processes of one machine)");
    claim_test("ratio", interval_ratio(), 0.95 * EX_PAPER_STEP_RATIO, 1.05 * EX_PAPER_STEP_RATIO);
    claim_open("[1] Figure 12", "an interval 1.24 times as long makes QMIX worse");
    claim_test("moderate, 690.9/s", step_ratio(MODERATE, 1), 1, HUGE_VAL);
    claim_test("large, 419.3/s", step_ratio(LARGE, 1), 1, HUGE_VAL);
}

/* ---- ablation.png ----- */

/* Every model and run is a value of its box. */
static bool picture_ablation(void)
{
    static const char *const rates[] = { "690.9 requests/s", "796.3 requests/s" };
    double *values[ABLATION_RATES][VARIANTS];
    int32_t counts[ABLATION_RATES][VARIANTS], v, r;
    const double *boxed[ABLATION_RATES][VARIANTS];
    const char *names[VARIANTS];
    ex_color colors[VARIANTS];
    ex_reference one = { .label = "the first", .y = 1 };
    ex_box_chart charts[ABLATION_RATES];
    ex_panel panels[ABLATION_RATES];
    ex_figure figure = { .title = "Ablation: QMIX at moderate scale, one thing changed at a time",
                         .subtitle = "mean time of a request over that of QMIX as published, each model and run with "
                                     "the same arrivals; less is better",
                         .note = short_form(), .panels = panels, .panel_count = ABLATION_RATES, .columns = 1 };
    bool ok;

    memset(charts, 0, sizeof charts);
    memset(panels, 0, sizeof panels);
    for (r = 0; r < ABLATION_RATES; r++) {
        for (v = 0; v < VARIANTS; v++) {
            int32_t row = variant_row(v, ablation_rates[r]), over = variant_row(0, ablation_rates[r]);
            names[v] = variants[v].name;
            colors[v] = ex_palette(variants[v].algo != EX_MARL_QMIX ? 1 : v == 0 ? 7 : 0);
            if (lab.planning) continue;
            boxed[r][v] = values[r][v] = ex_lab_ratios(&lab, row, over, EX_LAB_MEAN, &counts[r][v]);
        }
        charts[r] = (ex_box_chart){ .title = rates[r], .y = { .label = "ratio", .logarithmic = true },
                                    .categories = names, .values = boxed[r], .counts = counts[r],
                                    .category_count = VARIANTS, .colors = colors, .references = &one,
                                    .reference_count = 1 };
        panels[r].box = &charts[r];
    }
    if (lab.planning) return true;
    ok = ex_figure_write(&figure, 1500, 1300, ex_path_join(lab.out, "ablation.png").text);
    for (r = 0; r < ABLATION_RATES; r++) {
        for (v = 0; v < VARIANTS; v++) free(values[r][v]);
    }
    return picture_done(ok, "ablation.png");
}

/* ---- all of it ----------------------------------------------------------------------------------------------- */

static void preface(void)
{
    static const char words[] =
        "Moderate scale: two balancers over 4 servers of 2 CPUs and 3 of 4, processor sharing of at most 32 requests,\n"
        "128 more may wait. The traffic of the paper is not public: here half of the requests are static pages of\n"
        "2 ms, the others wiki pages of exponential work, 45.6 ms on average, so that the mean is the 23.8 ms with\n"
        "which the published rates are 62 to 95 % of what the CPUs can do. Poisson arrivals. A static page is a CPU's\n"
        "work like any other and waits for the same workers; disks are not modelled.\n\n"
        "Large scale: six balancers over 12 servers of 4 CPUs and 12 of 8, exponential work of 200 ms; the speed of\n"
        "the CPUs, 0.65, is inferred from the rates.\n\n"
        "Classical rules are told the true capacities, as in the papers; AWCMP hears from the servers every 0.25 s.\n"
        "What is learned is told nothing (equal weights) and learns with the settings that were published, on traffic\n"
        "of the same kind. S-SAC has one balancer for all traffic, as published. No guard rails.\n\n"
        "Runs are of held-out arrivals, the same for every row; the first tenth does not count (in tables A and B all\n"
        "does). Times are of completed requests; what was lost is beside them.\n\n"
        "An interval is Student's t, 95 %, over runs or over trained models, whichever is wider.";

    ex_text_printf(&report, "# Two papers on learned load balancing, made anew\n\n"
                   "Made by `build/paper_tables%s --seed %llu`: %d model%s of each learner, %d runs of each cell.\n",
                   quick ? " --quick" : "", (unsigned long long)lab.seed, (int)lab.seeds, lab.seeds == 1 ? "" : "s",
                   (int)lab.runs);
    if (lab.seeds == 1) {
        ex_text_printf(&report, "With one model of each, intervals say nothing of what another seed would have learnt."
                       "\n");
    }
    ex_text_printf(&report, "\n## Our world\n\n%s\n", words);
}

/* Models that diverged: their curve is shorter than it should be. */
static bool add_models(void)
{
    static const char *const names[] = { "learner", "model", "episodes", "updates", "mean time in the last, ms" };
    grid g = { .cells = 0 };
    int32_t i, k;
    char text[64];

    if (lab.learner_count == 0) return true;
    heading("What was trained", "One that diverged has fewer episodes than the others of its kind; it serves as it was "
                                "before. The last episode is one of learning, with exploration.");
    grid_heading(&g, names, EX_COUNT(names));
    for (i = 0; !lab.planning && i < lab.learner_count; i++) {
        for (k = 0; k < lab.seeds; k++) {
            ex_lab_curve c;
            if (!ex_lab_curve_read(&lab, i, k, false, &c)) return false;
            grid_cell(&g, lab.learners[i].name);
            snprintf(text, sizeof text, "%llu", (unsigned long long)lab.seed + (unsigned long long)k);
            grid_cell(&g, text);
            snprintf(text, sizeof text, "%d%s", (int)c.count,
                     c.count < lab.learners[i].settings.episodes ? ", diverged" : "");
            grid_cell(&g, text);
            snprintf(text, sizeof text, "%.0f", ex_lab_curve_column(&c, "updates")[c.count - 1]);
            grid_cell(&g, text);
            snprintf(text, sizeof text, "%.1f", 1000 * ex_lab_curve_column(&c, "jct_mean")[c.count - 1]);
            grid_cell(&g, text);
            grid_row(&g);
            ex_lab_curve_free(&c);
        }
    }
    grid_end(&g);
    return true;
}

static bool figures(void)
{
    return (!wanted(FIGURE7) || figure7()) && (!wanted(FIGURE8) || figure8()) &&
           (!wanted(FIGURE9) || figure_busy(MODERATE, ex_paper_rates + 1, 3, "Figure 9: busy workers, moderate scale, "
                                            "more than 600 requests/s", "figure9.png")) &&
           (!wanted(FIGURE10) || figure_busy(LARGE, ex_paper_large_rates, 2, "Figure 10: busy workers, large scale",
                                             "figure10.png")) &&
           (!wanted(FIGURE11) || figure11()) && (!wanted(FIGURE12) || figure12()) &&
           (!wanted(ABLATION) || picture_ablation());
}

static void all_claims(void)
{
    claims_moderate();
    if (wanted(FIGURE7)) claims_learning();
    if (wanted(FIGURE8)) claims_tail();
    if (wanted(FIGURE9)) claims_busy_moderate();
    if (wanted(FIGURE10)) claims_busy_large();
    claims_large();
    if (wanted(FIGURE11)) claims_cost();
    if (wanted(FIGURE12)) claims_steps();
    claims_poster();
    if (wanted(ABLATION)) claims_ablation();
}

/* False: said. While planning it only finds out what is needed. */
static bool make_report(void)
{
    int32_t t;
    bool ok;

    ex_text_free(&report);
    claims_clear();
    preface();
    for (t = 0; t < EX_PAPER_RATES; t++) {
        if (wanted(TABLE3 + t)) table_moderate(t);
    }
    if (wanted(TABLE7)) table_large();
    tables_poster();
    if (wanted(ABLATION)) table_ablation();
    ex_text_printf(&report, "\n## Figures\n");
    if (!figures()) return false;
    all_claims();
    add_claims();
    ok = add_models();
    return ok;
}

/* ---- results.json ----- */

static void json_group(ex_json *j, const ex_lab_group *g)
{
    const ex_lab_setting *s = &g->is;
    int32_t i, r;

    ex_json_row(j, NULL);
    ex_json_string(j, "world", worlds[s->world].name);
    ex_json_double(j, "rate", s->rate);
    ex_json_int(j, "balancers", s->balancers > 0 ? s->balancers : lab.told[s->world].desc.balancers);
    ex_json_string(j, "policy", s->policy ? s->policy : lab.learners[s->learner].name);
    ex_json_bool(j, "learned", !s->policy);
    ex_json_int(j, "model", s->policy ? -1 : g->model);
    ex_json_double(j, "interval", s->step > 0 ? s->step : 1);
    for (i = 0; i < EX_LAB_NUMBERS; i++) {
        double mean = 0;
        for (r = 0; r < lab.runs; r++) mean += g->values[r * EX_LAB_VALUES + i] / lab.runs;
        ex_json_double(j, ex_lab_numbers[i], mean);
    }
    ex_json_end(j);
}

static void json_claim(ex_json *j, const claim *c)
{
    ex_json_row(j, NULL);
    ex_json_string(j, "source", c->source);
    ex_json_string(j, "claim", c->words);
    ex_json_string(j, "verdict", verdict_of(c));
    ex_json_int(j, "holds", c->holds);
    ex_json_int(j, "fails", c->fails);
    ex_json_int(j, "open", c->open);
    ex_json_string(j, "evidence", c->evidence.data);
    ex_json_end(j);
}

static bool write_json(void)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", program.name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_object(&j, "settings");
    ex_json_row_array(&j, "only");
    for (i = 0; i < PARTS; i++) {
        if (wanted(i)) ex_json_string(&j, NULL, part_names[i]);
    }
    ex_json_end(&j);
    ex_json_int(&j, "seeds", lab.seeds);
    ex_json_int(&j, "episodes", episodes);
    ex_json_int(&j, "runs", lab.runs);
    ex_json_uint(&j, "seed", lab.seed);
    ex_json_bool(&j, "quick", quick);
    ex_json_end(&j);
    ex_json_array(&j, "claims");
    for (i = 0; i < claim_count; i++) json_claim(&j, &claims[i]);
    ex_json_end(&j);
    ex_json_array(&j, "results"); /* means over the runs */
    for (i = 0; i < lab.group_count; i++) json_group(&j, &lab.groups[i]);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(lab.out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- main ---------------------------------------------------------------------------------------------------- */

/* EX_OK, or the status to leave with. */
static int work(void)
{
    int status;

    if (!ex_lab_open(&lab)) return EX_FAILED;
    lab.planning = true;
    if (!make_report()) return EX_FAILED;
    lab.planning = false;
    status = ex_lab_work(&lab);
    if (status != EX_GO_ON) return status;
    if (!make_report() || !ex_text_write(&report, ex_path_join(lab.out, "report.md").text) || !write_json()) {
        return EX_FAILED;
    }
    if (!lab.quiet) printf("\nin %s: report.md, results.json and pictures\n", lab.out);
    return EX_OK;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv), i;

    if (status != EX_GO_ON) return status;
    lab.worlds = worlds;
    lab.world_count = WORLDS;
    if (lab.seeds == 0) lab.seeds = quick ? 1 : 3;
    if (lab.runs == 0) lab.runs = quick ? 3 : 10;
    for (i = 0; quick && i < WORLDS; i++) worlds[i].duration_s = i < PAIR ? 20 : 60;
    status = work();
    ex_lab_close(&lab);
    claims_clear();
    ex_text_free(&report);
    return status;
}
