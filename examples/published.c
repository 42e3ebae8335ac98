/* published.c - the flow-level world held against what others measured, cell by cell

   --table a       Table A of "Reinforced Workload Distribution Fairness" (2021): fairness and mean of residual time, a
                   server of 4 CPUs and one of 2; and the same fairness from its notebooks
   --table b       its Table B: residual time over four and eight servers, one balancer and two
   --table views   what becomes of the classical rules when balancers see their own requests only: mean job time for
                   1, 6, 32 and 128 balancers over the same 24 servers, simulated by another program
   --table draw    the draw family and two rules that are told nothing, same world

   Shows how to set up worlds, to run cells on all cores, and to put rules of one's own into a balancer (CHOOSE): the
   published rules break ties in another way than rllb.h does, and that way is among the rows, beside ours.

   Build:   make build/published
   Run:     build/published --table all
   Prints:  ours (published), what differs, and why as far as that is known
   Writes:  published.md, results.json; published_tables.png (a and b), partial_views.png (views)

   A cell is "within 5 %" of the published figure; or that lies "inside the interval" where, nineteen times of twenty, a
   figure made of as many episodes or seeds would lie, by the spread of ours (Student's t); or it "differs". */

#include "flows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paper.h"

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static const char *const table_names[] = { "a", "b", "views", "draw", "all", NULL };
enum { TABLE_A = 1, TABLE_B = 2, TABLE_VIEWS = 4, TABLE_DRAW = 8, TABLE_ALL = 15 };

static int32_t table = 4, seeds, jobs;
static uint64_t seed = 1;
static const char *out = "out/published";
static bool quick, quiet;

static ex_option options[] = {
    EX_CHOICE("table", &table, table_names, "which of the tables"),
    EX_INT("seeds", &seeds, 0, 1000, "N", "episodes of each cell; 0: 20 in a and b, 3 in the others, as published"),
    EX_SEED("seed", &seed, "the first of the seeds"),
    EX_FLAG("quick", &quick, "short runs, 2 seeds unless given; shows that it works, proves nothing"),
    EX_INT("jobs", &jobs, 0, 4096, "N", "runs at a time; 0: one for every processor"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "published",
    .summary = "the simulator's figures beside those that others published",
    .details = "All of it takes about five minutes on a core, --quick some seconds.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- what was published ------------------------------------------------------------------------------------------ */

enum { COLUMNS_MAX = 5, FIGURES_MAX = 2 };

/* d, a, gamma of the DRAW form. */
typedef struct draw {
    int32_t d;
    double a, gamma;
} draw;

/* How a row's rule comes to its pick. */
typedef enum rule {
    AS_IT_IS, /* a policy of rllb.h */
    IN_ORDER, /* the least, in scan order from a server at random: of equals the first met, as published */
    TRUE_DRAW /* draw, where unlike servers with the same (q + 1) / w are equal: rllb.h has a rounded 1 / w as factor */
} rule;

/* 0: not published. With `until` a published figure is a range up to there. */
typedef struct row {
    const char *name;
    rllb_balance policy;
    rule rule;
    const draw *draws; /* for each column; DRAW and EQUALISE */
    double published[FIGURES_MAX][COLUMNS_MAX];
    double until;
    const char *why; /* it may differ */
} row;

/* What of a run is shown. */
typedef struct view {
    ex_flow_figure figure;
    const char *key, *name; /* in files; in tables, with its unit */
    double unit;
    int32_t decimals;
} view;

typedef enum world {
    PAIR,       /* seed4-a */
    FOUR,       /* seed4-b */
    EIGHT,
    FLEET_EVEN, /* the fleet, all speeds 1 */
    FLEET,      /* balancers are told the CPUs */
    FLEET_TOLD, /* CPUs times speed */
    FLEET_BLIND,
    WORLDS
} world;

static const ex_flows_how worlds[WORLDS] = {
    { .preset = RLLB_ENV_PRESET_SEED4_A, .unguarded = true },
    { .preset = RLLB_ENV_PRESET_SEED4_B, .unguarded = true },
    { .preset = RLLB_ENV_PRESET_SEED4_B, .unguarded = true, .servers = 8 },
    { .preset = RLLB_ENV_PRESET_FLEET, .unguarded = true, .even = true },
    { .preset = RLLB_ENV_PRESET_FLEET, .unguarded = true },
    { .preset = RLLB_ENV_PRESET_FLEET, .unguarded = true, .weights = EX_WEIGHTS_CAPACITY },
    { .preset = RLLB_ENV_PRESET_FLEET, .unguarded = true, .weights = EX_WEIGHTS_EQUAL },
};

typedef struct setting {
    const char *name;
    world world;
    int32_t balancers; /* 0: as in the preset */
    double load;       /* 0: as in the preset */
    bool transient;    /* queues grow: what is seen is the way there, not a state; not judged */
} setting;

static const setting loads[] = { { "60 %", PAIR, 1, 0.6, false },
                                { "70 %", PAIR, 1, 0.7, false },
                                { "80 %", PAIR, 1, 0.8, false },
                                { "90 %", PAIR, 1, 0.9, false },
                                { "100 %", PAIR, 1, 1, true } };
static const setting notebook_loads[] = { { "76.5 %", PAIR, 1, 0.765, false },
                                         { "84.5 %", PAIR, 1, 0.845, false },
                                         { "92.5 %", PAIR, 1, 0.925, false },
                                         { "100 %", PAIR, 1, 1, true } };
static const setting shapes[] = { { "1 LB, 4 servers", FOUR, 1, 0.7, false },
                                 { "2 LB, 4 servers", FOUR, 2, 0.7, false },
                                 { "1 LB, 8 servers", EIGHT, 1, 0.7, false },
                                 { "2 LB, 8 servers", EIGHT, 2, 0.7, false } };
#define MANY(w) { { "1", w, 1, 0, false }, { "6", w, 6, 0, false }, { "32", w, 32, 0, false }, \
                  { "128", w, 128, 0, false } }
static const setting many_even[] = MANY(FLEET_EVEN), many[] = MANY(FLEET), many_told[] = MANY(FLEET_TOLD),
                    many_blind[] = MANY(FLEET_BLIND);

static const row rows_a[] = {
    { "ECMP", RLLB_BALANCE_ECMP, AS_IT_IS, NULL, EX_PAPER_A_ECMP, 0, NULL },
    { "WCMP", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, EX_PAPER_A_WCMP, 0, NULL },
    { "LSQ", RLLB_BALANCE_LSQ, AS_IT_IS, NULL, EX_PAPER_A_LSQ, 0, NULL },
    { "SED", RLLB_BALANCE_SED, AS_IT_IS, NULL, EX_PAPER_A_SED, 0, NULL },
};
static const row rows_same[] = {
    { "ECMP", RLLB_BALANCE_ECMP, AS_IT_IS, NULL, { { .518, .518, .519, .520 } }, 0, NULL },
    { "WCMP", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, { { .769, .782, .785, .823 } }, 0, NULL },
    { "LSQ", RLLB_BALANCE_LSQ, AS_IT_IS, NULL, { { .788, .795, .809, .862 } }, 0, NULL },
    { "SED", RLLB_BALANCE_SED, AS_IT_IS, NULL, { { .874, .907, .951, .988 } }, 0, NULL },
    { "least residual time", RLLB_BALANCE_SRT, AS_IT_IS, NULL, { { .913, .939, .971, .997 } }, 0, NULL },
};
static const row rows_exponential[] = {
    { "WCMP", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, { { .744, .754, .770, .805 } }, 0, NULL },
    { "LSQ", RLLB_BALANCE_LSQ, AS_IT_IS, NULL, { { .804, .824, .844, .880 } }, 0, NULL },
    { "SED", RLLB_BALANCE_SED, AS_IT_IS, NULL, { { .816, .853, .893, .957 } }, 0, NULL },
    { "least residual time", RLLB_BALANCE_SRT, AS_IT_IS, NULL, { { .912, .936, .966, .992 } }, 0, NULL },
};
static const row rows_b[] = {
    { "SED", RLLB_BALANCE_SED, AS_IT_IS, NULL, EX_PAPER_B_SED, 0, NULL },
    { "LSQ", RLLB_BALANCE_LSQ, AS_IT_IS, NULL, EX_PAPER_B_LSQ, 0, NULL },
    { "WCMP", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, EX_PAPER_B_WCMP, 0, NULL },
    { "ECMP", RLLB_BALANCE_ECMP, AS_IT_IS, NULL, EX_PAPER_B_ECMP, 0, NULL },
};

#define TIES "ties: rllb.h takes each of the tied with the same chance; the published program takes the first after " \
             "a random place, so that a server behind a row of busy ones gets more"
static const row rows_even[] = {
    { "weighted random", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, { { 369, 369, 369, 369 } }, 0, NULL },
    { "LSQ", RLLB_BALANCE_LSQ, IN_ORDER, NULL, { { 250, 271, 547, 1816 } }, 0, NULL },
    { "SED", RLLB_BALANCE_SED, IN_ORDER, NULL, { { 201, 214, 711, 2673 } }, 0, NULL },
    { "weighted power-of-two", RLLB_BALANCE_P2C_WEIGHTED, AS_IT_IS, NULL, { { 222, 253, 288, 385 } }, 0, NULL },
    { "SED over all queues", RLLB_BALANCE_SED_ORACLE, AS_IT_IS, NULL, { { 201, 201, 201, 201 } }, 0, NULL },
    { "lsq of rllb.h", RLLB_BALANCE_LSQ, AS_IT_IS, NULL, { { 250, 271, 547, 1816 } }, 0, TIES },
    { "sed of rllb.h", RLLB_BALANCE_SED, AS_IT_IS, NULL, { { 201, 214, 711, 2673 } }, 0, TIES },
};
static const row rows_untold[] = {
    { "weighted random", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, { { 2430, 2430, 2430, 2430 } }, 0, NULL },
    { "LSQ", RLLB_BALANCE_LSQ, IN_ORDER, NULL, { { 238, 262, 580, 1979 } }, 0, NULL },
    { "SED", RLLB_BALANCE_SED, IN_ORDER, NULL, { { 195, 213, 705, 2643 } }, 0, NULL },
    { "weighted power-of-two", RLLB_BALANCE_P2C_WEIGHTED, AS_IT_IS, NULL, { { 238, 325, 584, 1438 } }, 0, NULL },
    { "SED over all queues", RLLB_BALANCE_SED_ORACLE, AS_IT_IS, NULL, { { 195, 195, 195, 195 } }, 0, NULL },
    { "lsq of rllb.h", RLLB_BALANCE_LSQ, AS_IT_IS, NULL, { { 238, 262, 580, 1979 } }, 0, TIES },
    { "sed of rllb.h", RLLB_BALANCE_SED, AS_IT_IS, NULL, { { 195, 213, 705, 2643 } }, 0, TIES },
};
static const row rows_told[] = {
    { "weighted random", RLLB_BALANCE_WCMP, AS_IT_IS, NULL, { { 318, 318, 318, 318 } }, 0, NULL },
    { "SED", RLLB_BALANCE_SED, IN_ORDER, NULL, { { 198, 223, 779, 2436 } }, 0, NULL },
    { "weighted power-of-two", RLLB_BALANCE_P2C_WEIGHTED, AS_IT_IS, NULL, { { 228, 255, 299, 402 } }, 0, NULL },
    { "SED over all queues", RLLB_BALANCE_SED_ORACLE, AS_IT_IS, NULL, { { 198, 198, 198, 198 } }, 0, NULL },
    { "sed of rllb.h", RLLB_BALANCE_SED, AS_IT_IS, NULL, { { 198, 223, 779, 2436 } }, 0, TIES },
};

#define ALL_OF(d, a, gamma) { { d, a, gamma }, { d, a, gamma }, { d, a, gamma }, { d, a, gamma } }
static const draw best[] = { { 6, 1, 0.75 }, { 6, 1.2, 0.25 }, { 3, 1.2, 0 }, { 3, 1.2, 0 } };
static const draw draw_311[] = ALL_OF(3, 1, 1), draw_211[] = ALL_OF(2, 1, 1), draw_3110[] = ALL_OF(3, 1.1, 0),
                  draw_310[] = ALL_OF(3, 1, 0);
#define ROUNDING "ties of unlike servers, as of an idle one of weight 4 and one of weight 8 with one request: rllb.h " \
                 "takes the one whose cost happens to be rounded down; see the row with these ties kept"
static const row rows_draw[] = {
    { "best of 48 settings", RLLB_BALANCE_DRAW, AS_IT_IS, best, { { 191, 202, 243, 269 } }, 0, NULL },
    { "(3, 1, 1)", RLLB_BALANCE_DRAW, AS_IT_IS, draw_311, { { 203, 249, 0, 0 } }, 0, ROUNDING },
    { "(2, 1, 1)", RLLB_BALANCE_DRAW, AS_IT_IS, draw_211, { { 213, 256, 500, 1446 } }, 0, ROUNDING },
    { "(3, 1.1, 0)", RLLB_BALANCE_DRAW, AS_IT_IS, draw_3110, { { 227, 229, 248, 272 } }, 0, NULL },
    { "(3, 1, 1), ties kept", RLLB_BALANCE_DRAW, TRUE_DRAW, draw_311, { { 203, 249, 0, 0 } }, 0, NULL },
    { "(2, 1, 1), ties kept", RLLB_BALANCE_DRAW, TRUE_DRAW, draw_211, { { 213, 256, 500, 1446 } }, 0, NULL },
};
static const row rows_equalise[] = {
    { "equalise, draw (2, 1, 1)", RLLB_BALANCE_EQUALISE, AS_IT_IS, draw_211, { { 320, 320, 320, 320 } }, 360, NULL },
    { "equalise, draw (3, 1, 0)", RLLB_BALANCE_EQUALISE, AS_IT_IS, draw_310, { { 320, 320, 320, 320 } }, 360, NULL },
};

static const view fairness_and_mean[] = {
    { EX_FLOW_JAIN_BUSY, "fairness", "fairness of residual time (Jain)", 1, 3 },
    { EX_FLOW_RESIDUAL_MEAN, "residual_mean", "mean residual time, s", 1, 3 },
};
static const view mean_and_most[] = {
    { EX_FLOW_RESIDUAL_MEAN, "residual_mean", "mean residual time, s", 1, 3 },
    { EX_FLOW_RESIDUAL_MAX, "residual_max", "greatest residual time, s", 1, 3 },
};
static const view job_time[] = { { EX_FLOW_MEAN, "jct_mean", "mean job time, ms", 1000, 0 } };

/* ---- blocks: rows by columns of runs, of which one figure or two are shown --------------------------------------- */

enum { A, SAME, EXPONENTIAL, B, B_LONG, B_FINE, EVEN, UNTOLD, TOLD, DRAWS, EQUALISE, BLOCKS };

typedef struct block {
    int32_t table; /* TABLE_... that has it */
    const char *key, *title, *words, *columns_are;
    const setting *columns;
    const row *rows;
    const view *views;
    int32_t column_count, row_count, view_count;
    double duration_s, quick_s, warmup, look_s;
    int32_t theirs; /* episodes or seeds that a published figure is of */
    bool exponential, ours_only;
} block;

#define COLUMNS(c) .columns = c, .column_count = EX_COUNT(c)
#define ROWS(r) .rows = r, .row_count = EX_COUNT(r)
#define VIEWS(v) .views = v, .view_count = EX_COUNT(v)
#define EPISODE .duration_s = 155, .quick_s = 60, .theirs = 1
#define VIEW_RUN .duration_s = 600, .quick_s = 20, .warmup = 0.1, .theirs = 3, .columns_are = "balancers"

static const block blocks[BLOCKS] = {
    [A] = { .table = TABLE_A, .key = "a", .title = "Table A: identical tasks of 100 ms on 4 and 2 CPUs",
            .words = "One balancer; episodes of 155 s from an empty system, looks every 0.5 s, fairness over those at "
                     "which there is work. At 100 % queues grow: the way there is shown, and not judged.",
            .columns_are = "load", COLUMNS(loads), ROWS(rows_a), VIEWS(fairness_and_mean), EPISODE },
    [SAME] = { .table = TABLE_A, .key = "notebook", .title = "Fairness in the notebooks: identical tasks of 100 ms",
               .words = "The same world. Which of ten episodes the published figures are of is not said; ours are of "
                        "105 s, the last.",
               .columns_are = "load", COLUMNS(notebook_loads), ROWS(rows_same), .views = fairness_and_mean,
               .view_count = 1, .duration_s = 105, .quick_s = 60, .theirs = 1 },
    [EXPONENTIAL] = { .table = TABLE_A, .key = "notebook_exponential",
                      .title = "Fairness in the notebooks: exponential tasks of 100 ms",
                      .words = "As above. The law is read off the name of a folder.", .columns_are = "load",
                      COLUMNS(notebook_loads), ROWS(rows_exponential), .views = fairness_and_mean, .view_count = 1,
                      .duration_s = 105, .quick_s = 60, .theirs = 1, .exponential = true },
    [B] = { .table = TABLE_B, .key = "b", .title = "Table B: more servers and a second balancer",
            .words = "Load and law are not printed: exponential tasks of 200 ms at 70 %, 4 and 2 CPUs in turn, are "
                     "inferred from the means. Episodes of 155 s as in Table A.",
            .columns_are = "balancers (LB)", COLUMNS(shapes), ROWS(rows_b), VIEWS(mean_and_most), EPISODE },
    [B_LONG] = { .table = TABLE_B, .key = "b_long", .title = "Table B for longer: ours only",
                 .words = "How long the published runs are is not printed. A maximum grows with the time looked at; so "
                          "does ECMP's mean, whose servers of 2 CPUs get 105 % of what they can do.",
                 .columns_are = "balancers (LB)", COLUMNS(shapes), ROWS(rows_b), VIEWS(mean_and_most),
                 .duration_s = 500, .quick_s = 155, .theirs = 1, .ours_only = true },
    [B_FINE] = { .table = TABLE_B, .key = "b_fine", .title = "Table B with a look every 20 ms: ours only",
                 .words = "The published simulator logs every 0.5 s; whether its maxima are of that log is not known.",
                 .columns_are = "balancers (LB)", COLUMNS(shapes), ROWS(rows_b), VIEWS(mean_and_most), EPISODE,
                 .look_s = 0.02, .ours_only = true },
    [EVEN] = { .table = TABLE_VIEWS, .key = "views_equal", .title = "Partial views: equal speeds, weights = CPUs",
               .words = "12 servers of 4 CPUs and 12 of 8, processor sharing, 627 requests of 200 ms a second (load "
                        "0.87), exponential; 600 s, the first tenth left out; no guard rails.",
               COLUMNS(many_even), ROWS(rows_even), VIEWS(job_time), VIEW_RUN },
    [UNTOLD] = { .table = TABLE_VIEWS, .key = "views_untold",
                 .title = "Partial views: speeds 0.6, 1 and 1.5, weights = CPUs only",
                 .words = "The same at load 0.84; nobody tells the balancers how fast a CPU is.", COLUMNS(many),
                 ROWS(rows_untold), VIEWS(job_time), VIEW_RUN },
    [TOLD] = { .table = TABLE_VIEWS, .key = "views_told",
               .title = "Partial views: the same speeds, told: weights = CPUs x speed",
               .words = "Knowing every capacity helps weighted choice and power-of-two; it does nothing against the "
                        "herd.",
               COLUMNS(many_told), ROWS(rows_told), VIEWS(job_time), VIEW_RUN },
    [DRAWS] = { .table = TABLE_DRAW, .key = "draw", .title = "draw(d, a, gamma), told",
                .words = "Best are (6, 1, 0.75), (6, 1.2, 0.25), (3, 1.2, 0) and again (3, 1.2, 0); 300 s.",
                COLUMNS(many_told), ROWS(rows_draw), VIEWS(job_time), .duration_s = 300, .quick_s = 20, .warmup = 0.1,
                .theirs = 3, .columns_are = "balancers" },
    [EQUALISE] = { .table = TABLE_DRAW, .key = "equalise", .title = "Told nothing, not even the CPUs: equalise",
                   .words = "By duration, second half of 1,200 s. Published as a range, 320 to 360 ms, for every "
                            "number of balancers.",
                   COLUMNS(many_blind), ROWS(rows_equalise), VIEWS(job_time), .duration_s = 1200, .quick_s = 20,
                   .warmup = 0.5, .theirs = 3, .columns_are = "balancers" },
};

/* ---- rules that rllb.h does not have ----------------------------------------------------------------------------- */

enum { SERVERS_MAX = 24 };

/* One for every run; what is random about it has a stream of its own. */
typedef struct chooser {
    rllb_rng rng;
    bool counts; /* LSQ: weights do not matter */
    draw draw;
    double weight[SERVERS_MAX], below[SERVERS_MAX + 1]; /* over their mean; sums of weight^a */
} chooser;

/* a is less than b by more than rounding. */
static bool is_less(double a, double b)
{
    return a < b * (1 - 1e-6);
}

/* cost is (q + 1) / w. */
static int32_t choose_in_order(void *self, const float *cost, int32_t servers)
{
    chooser *c = self;
    int32_t from = rllb_rng_below(&c->rng, servers), best_yet = -1, i;
    double least = HUGE_VAL;

    for (i = 0; i < servers; i++) {
        int32_t s = (from + i) % servers;
        double x = (double)cost[s] * (c->counts ? c->weight[s] : 1);
        if (best_yet < 0 || is_less(x, least)) {
            best_yet = s;
            least = x;
        }
    }
    return best_yet;
}

static int32_t choose_true_draw(void *self, const float *cost, int32_t servers)
{
    chooser *c = self;
    int32_t best_yet = -1, i, s;
    double least = HUGE_VAL;

    for (i = 0; i < c->draw.d; i++) {
        double at = rllb_rng_double(&c->rng) * c->below[servers], x;
        for (s = 0; s < servers - 1 && at >= c->below[s + 1]; s++) {}
        x = (double)cost[s] * pow(c->weight[s], 1 - c->draw.gamma);
        if (best_yet < 0 || is_less(x, least)) {
            best_yet = s;
            least = x;
        }
    }
    return best_yet;
}

static void chooser_set(chooser *c, const row *r, int32_t column, const rllb_env_flows_desc *d)
{
    double total = 0;
    int32_t j;

    memset(c, 0, sizeof *c);
    rllb_rng_init(&c->rng, d->seed, 77);
    c->counts = r->policy == RLLB_BALANCE_LSQ;
    if (r->draws) c->draw = r->draws[column];
    for (j = 0; j < d->count; j++) {
        c->weight[j] = d->servers[j].weight > 0 ? (double)d->servers[j].weight : d->servers[j].cpus;
        total += c->weight[j];
    }
    for (j = 0; j < d->count; j++) {
        c->weight[j] *= d->count / total;
        c->below[j + 1] = c->below[j] + pow(c->weight[j], c->draw.a);
    }
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static ex_flows world_of[WORLDS];
static ex_cell *cells;
static chooser *choosers;
static int32_t cell_count, first_cell[BLOCKS]; /* [rows][columns][seeds of the block] */

static bool wanted(int32_t b)
{
    return (table == 4 ? TABLE_ALL : 1 << table) & blocks[b].table;
}

static int32_t seeds_of(int32_t b)
{
    bool episodes = blocks[b].theirs == 1;

    return seeds > 0 ? seeds : quick ? 2 : episodes ? 20 : 3;
}

static double duration_of(int32_t b)
{
    return quick ? blocks[b].quick_s : blocks[b].duration_s;
}

static ex_cell *cells_of(int32_t b, int32_t r, int32_t c)
{
    return &cells[first_cell[b] + (r * blocks[b].column_count + c) * seeds_of(b)];
}

static void set_rule(rllb_env_flows_desc *d, const row *r, int32_t column, chooser *own)
{
    d->balancer.policy = r->policy;
    if (r->draws) {
        d->balancer.d = r->draws[column].d;
        d->balancer.a = (float)r->draws[column].a;
        d->balancer.gamma = (float)r->draws[column].gamma;
        d->balancer.form = RLLB_FORM_DRAW;
    }
    if (r->rule == AS_IT_IS) return;
    chooser_set(own, r, column, d);
    d->balancer.policy = RLLB_BALANCE_CHOOSE;
    d->balancer.choose = r->rule == IN_ORDER ? choose_in_order : choose_true_draw;
    d->balancer.choose_self = own;
}

static void set_cell(ex_cell *x, int32_t b, int32_t r, int32_t c, int32_t k, chooser *own)
{
    const block *t = &blocks[b];
    const setting *at = &t->columns[c];

    ex_cell_default(x, &world_of[at->world].desc, duration_of(b));
    x->warmup = t->warmup;
    if (t->look_s > 0) x->look_s = t->look_s;
    if (t->exponential) x->desc.law = RLLB_ENV_EXPONENTIAL;
    if (at->balancers > 0) x->desc.balancers = at->balancers;
    if (at->load > 0) x->desc.rate = at->load * world_of[at->world].capacity;
    x->desc.seed = seed + (uint64_t)k;
    x->desc.horizon_s = 1e6; /* nobody steps */
    set_rule(&x->desc, &t->rows[r], c, own);
    snprintf(x->name, sizeof x->name, "%s: %s, %s", t->key, t->rows[r].name, at->name);
}

static bool prepare(void)
{
    int32_t b, r, c, k, at = 0;

    for (b = 0; b < WORLDS; b++) {
        if (!ex_flows_open(&world_of[b], &worlds[b])) return false;
    }
    for (b = 0; b < BLOCKS; b++) {
        first_cell[b] = cell_count;
        if (wanted(b)) cell_count += blocks[b].row_count * blocks[b].column_count * seeds_of(b);
    }
    cells = calloc((size_t)cell_count, sizeof *cells);
    choosers = calloc((size_t)cell_count, sizeof *choosers);
    if (!cells || !choosers) return ex_fail("not enough memory for %d runs", (int)cell_count) == EX_OK;
    for (b = 0; b < BLOCKS; b++) {
        if (!wanted(b)) continue;
        for (r = 0; r < blocks[b].row_count; r++) {
            for (c = 0; c < blocks[b].column_count; c++) {
                for (k = 0; k < seeds_of(b); k++, at++) set_cell(&cells[at], b, r, c, k, &choosers[at]);
            }
        }
    }
    return true;
}

/* ---- ours beside theirs ------------------------------------------------------------------------------------------ */

typedef enum flag { UNPUBLISHED, TRANSIENT, WITHIN, INSIDE, DIFFERS, FLAGS } flag;
static const char *const flag_names[FLAGS] = { "unpublished", "transient", "within_5", "inside", "differs" };
static const char *const flag_marks[FLAGS] = { "", " t", "", " ~", " *" };

typedef struct finding {
    ex_estimate ours;          /* mean over our seeds and its interval */
    double low, high;          /* where a figure made like the published one is to be expected */
    double published, until;   /* 0: none; until = published, but for ranges */
    double rejected;           /* share of the requests */
    flag flag;
} finding;

static finding find(int32_t b, int32_t r, int32_t v, int32_t c)
{
    const block *t = &blocks[b];
    const ex_cell *x = cells_of(b, r, c);
    int32_t n = seeds_of(b);
    double rounded = 0.5 * pow(10, -t->views[v].decimals); /* what is printed as .046 may be .0465 */
    double half, rejected = ex_cells_estimate(x, n, EX_FLOW_REJECTED).mean;
    finding f;

    f.ours = ex_cells_estimate(x, n, t->views[v].figure);
    f.ours.mean *= t->views[v].unit;
    f.ours.low *= t->views[v].unit;
    f.ours.high *= t->views[v].unit;
    half = (f.ours.high - f.ours.mean) * sqrt(1 + (double)n / t->theirs);
    f.low = f.ours.mean - half;
    f.high = f.ours.mean + half;
    f.rejected = rejected / (rejected + ex_cells_estimate(x, n, EX_FLOW_COMPLETED).mean);
    f.published = t->ours_only ? 0 : t->rows[r].published[v][c];
    f.until = t->rows[r].until > 0 ? t->rows[r].until : f.published;
    f.flag = !(f.published > 0) ? UNPUBLISHED
             : t->columns[c].transient ? TRANSIENT
             : f.ours.mean >= 0.95 * f.published && f.ours.mean <= 1.05 * f.until ? WITHIN
             : f.until + rounded >= f.low && f.published - rounded <= f.high ? INSIDE : DIFFERS;
    return f;
}

/* The load at which this row would have the published figure, on a line between the logarithms of its own; 0: none. */
static double load_for(int32_t b, int32_t r, int32_t v, double published)
{
    int32_t c;

    for (c = 0; c + 1 < blocks[b].column_count; c++) {
        double low = find(b, r, v, c).ours.mean, high = find(b, r, v, c + 1).ours.mean;
        const setting *at = &blocks[b].columns[c];
        if (published < low || published >= high) continue;
        return at[0].load + (at[1].load - at[0].load) * log(published / low) / log(high / low);
    }
    return 0;
}

/* One published episode may have had more or less to do than its load says. */
static void explain_by_load(int32_t b, int32_t r, int32_t v, int32_t c, double load, char words[320])
{
    const ex_cell *x = cells_of(b, r, c);
    double spread = blocks[b].columns[c].load / sqrt(x->desc.rate * x->duration_s); /* arrivals are Poisson */
    double fair = load_for(b, r, 0, find(b, r, 0, c).published);
    char also[64] = "";

    if (v > 0 && fair > 0) snprintf(also, sizeof also, ", its fairness at %.1f %%", 100 * fair);
    snprintf(words, 320, "not known; published is one episode. Ours has that figure at a load of %.1f %%%s; the load "
             "of single episodes spreads by %.1f %% (one standard deviation)", 100 * load, also, 100 * spread);
}

/* Why a cell may differ, as far as that is known. */
static void explain(int32_t b, int32_t r, int32_t v, int32_t c, char words[320])
{
    double load = b == A ? load_for(b, r, v, find(b, r, v, c).published) : 0;

    if (blocks[b].rows[r].why) {
        snprintf(words, 320, "%s", blocks[b].rows[r].why);
    } else if (load > 0) {
        explain_by_load(b, r, v, c, load, words);
    } else if (b == B && (v == 1 || blocks[b].rows[r].policy == RLLB_BALANCE_ECMP)) {
        snprintf(words, 320, "it grows with the time looked at, which is not published, and with the looks: ours is "
                 "%.3f over %.0f s and %.3f with a look every 20 ms", find(B_LONG, r, v, c).ours.mean,
                 duration_of(B_LONG), find(B_FINE, r, v, c).ours.mean);
    } else {
        snprintf(words, 320, "not known");
    }
}

/* ", 14 % rejected" behind a job time, which is that of the others; "" below a tenth of a percent. */
static const char *rejected_text(const finding *f, ex_flow_figure figure, char text[32])
{
    text[0] = '\0';
    if (figure == EX_FLOW_MEAN && f->rejected >= 0.001) {
        snprintf(text, 32, ", %.*f %% rejected", f->rejected < 0.0095 ? 1 : 0, 100 * f->rejected);
    }
    return text;
}

/* "0.934 (0.929)", with a mark. */
static void cell_text(int32_t b, int32_t r, int32_t v, int32_t c, char text[64])
{
    int32_t decimals = blocks[b].views[v].decimals;
    finding f = find(b, r, v, c);
    char published[32] = "", rejected[32];

    if (f.until > f.published) {
        snprintf(published, sizeof published, " (%.*f to %.*f)", decimals, f.published, decimals, f.until);
    } else if (f.published > 0) {
        snprintf(published, sizeof published, " (%.*f)", decimals, f.published);
    }
    snprintf(text, 64, "%.*f%s%s%s", decimals, f.ours.mean, published, flag_marks[f.flag],
             rejected_text(&f, blocks[b].views[v].figure, rejected));
}

static const char marks_mean[] = "ours (published); no mark: within 5 %; ~ inside the interval; * differs; t transient";

static void print_grid(int32_t b, int32_t v)
{
    const block *t = &blocks[b];
    ex_table grid = { 0 };
    char text[64];
    int32_t r, c;

    printf("\n%s\n%s\n", t->title, t->views[v].name);
    ex_table_cell(&grid, "%s", t->columns_are);
    for (c = 0; c < t->column_count; c++) ex_table_cell(&grid, "%s", t->columns[c].name);
    ex_table_row(&grid);
    for (r = 0; r < t->row_count; r++) {
        ex_table_cell(&grid, "%s", t->rows[r].name);
        for (c = 0; c < t->column_count; c++) {
            cell_text(b, r, v, c, text);
            ex_table_cell(&grid, "%s", text);
        }
        ex_table_row(&grid);
    }
    ex_table_print(&grid, stdout);
    ex_table_free(&grid);
}

/* What differs, a line each. */
static void add_differing(ex_text *to, int32_t b, int32_t v)
{
    const block *t = &blocks[b];
    char words[320];
    int32_t r, c;

    for (r = 0; r < t->row_count; r++) {
        for (c = 0; c < t->column_count; c++) {
            finding f = find(b, r, v, c);
            if (f.flag != DIFFERS) continue;
            explain(b, r, v, c, words);
            ex_text_printf(to, "- %s, %s: %+.1f %%: %s\n", t->rows[r].name, t->columns[c].name,
                           100 * (f.ours.mean / (f.ours.mean > f.until ? f.until : f.published) - 1), words);
        }
    }
}

static void count_flags(int32_t counts[FLAGS])
{
    int32_t b, r, v, c;

    memset(counts, 0, FLAGS * sizeof *counts);
    for (b = 0; b < BLOCKS; b++) {
        if (!wanted(b)) continue;
        for (v = 0; v < blocks[b].view_count; v++) {
            for (r = 0; r < blocks[b].row_count; r++) {
                for (c = 0; c < blocks[b].column_count; c++) counts[find(b, r, v, c).flag]++;
            }
        }
    }
}

static void print_all(void)
{
    int32_t b, v, counts[FLAGS];

    for (b = 0; b < BLOCKS; b++) {
        if (!wanted(b)) continue;
        for (v = 0; v < blocks[b].view_count; v++) {
            ex_text differing = { 0 };
            print_grid(b, v);
            add_differing(&differing, b, v);
            if (differing.data) printf("%s", differing.data);
            ex_text_free(&differing);
        }
    }
    count_flags(counts);
    printf("\n%s\n", marks_mean);
    printf("%d cells within 5 %%, %d inside the interval, %d differ; %d transient, %d not published\n",
           (int)counts[WITHIN], (int)counts[INSIDE], (int)counts[DIFFERS], (int)counts[TRANSIENT],
           (int)counts[UNPUBLISHED]);
    if (quick) printf("in short form: runs and seeds are too few to judge by\n");
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void add_grid(ex_text *to, int32_t b, int32_t v)
{
    const block *t = &blocks[b];
    ex_text differing = { 0 };
    char text[64];
    int32_t r, c;

    ex_text_printf(to, "\n%s:\n\n| %s |", t->views[v].name, t->columns_are);
    for (c = 0; c < t->column_count; c++) ex_text_printf(to, " %s |", t->columns[c].name);
    ex_text_printf(to, "\n|---|");
    for (c = 0; c < t->column_count; c++) ex_text_printf(to, "---|");
    for (r = 0; r < t->row_count; r++) {
        ex_text_printf(to, "\n| %s |", t->rows[r].name);
        for (c = 0; c < t->column_count; c++) {
            cell_text(b, r, v, c, text);
            ex_text_printf(to, " %s |", text);
        }
    }
    ex_text_printf(to, "\n");
    add_differing(&differing, b, v);
    if (differing.data) ex_text_printf(to, "\n%s", differing.data);
    ex_text_free(&differing);
}

static bool write_report(void)
{
    ex_text text = { 0 };
    int32_t b, v;
    bool ok;

    ex_text_printf(&text, "# The simulator beside published figures\n\n"
                   "Made by `build/published --table %s --seed %llu%s`.\nCells: %s.\nThe interval is where a "
                   "figure of as many episodes or seeds as the published one has would lie 19 times of 20: one cell\n"
                   "of twenty lies outside by chance.\n",
                   table_names[table], (unsigned long long)seed, quick ? " --quick" : "", marks_mean);
    if (quick) ex_text_printf(&text, "This is the short form: runs and seeds are too few to judge by.\n");
    for (b = 0; b < BLOCKS; b++) {
        if (!wanted(b)) continue;
        ex_text_printf(&text, "\n## %s\n\n%s\nRuns of %.0f s, %d to a cell.\n", blocks[b].title, blocks[b].words,
                       duration_of(b), (int)seeds_of(b));
        for (v = 0; v < blocks[b].view_count; v++) add_grid(&text, b, v);
    }
    ok = ex_text_write(&text, ex_path_join(out, "published.md").text);
    ex_text_free(&text);
    return ok;
}

static void add_json_cell(ex_json *j, int32_t b, int32_t r, int32_t v, int32_t c)
{
    const block *t = &blocks[b];
    const ex_cell *x = cells_of(b, r, c);
    finding f = find(b, r, v, c);
    char words[320];

    ex_json_row(j, NULL);
    ex_json_string(j, "table", t->key);
    ex_json_string(j, "policy", t->rows[r].name);
    ex_json_string(j, "column", t->columns[c].name);
    ex_json_int(j, "balancers", x->desc.balancers);
    ex_json_int(j, "servers", x->desc.count);
    ex_json_double(j, "load", x->desc.rate / world_of[t->columns[c].world].capacity);
    ex_json_double(j, "duration_s", x->duration_s);
    ex_json_int(j, "seeds", seeds_of(b));
    ex_json_string(j, "figure", t->views[v].key);
    ex_json_double(j, "ours", f.ours.mean / t->views[v].unit);
    ex_json_double(j, "low", f.ours.low / t->views[v].unit);
    ex_json_double(j, "high", f.ours.high / t->views[v].unit);
    ex_json_double(j, "expect_low", f.low / t->views[v].unit);
    ex_json_double(j, "expect_high", f.high / t->views[v].unit);
    ex_json_double(j, "published", f.published > 0 ? f.published / t->views[v].unit : (double)NAN);
    ex_json_double(j, "published_until", f.published > 0 ? f.until / t->views[v].unit : (double)NAN);
    ex_json_double(j, "rejected_share", f.rejected);
    ex_json_string(j, "flag", flag_names[f.flag]);
    if (f.flag == DIFFERS) explain(b, r, v, c, words);
    ex_json_string(j, "reason", f.flag == DIFFERS ? words : NULL);
    ex_json_end(j);
}

static bool write_json(void)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t b, r, v, c, counts[FLAGS];
    bool ok;

    count_flags(counts);
    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "published");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    ex_json_object(&j, "settings");
    ex_json_string(&j, "table", table_names[table]);
    ex_json_bool(&j, "quick", quick);
    ex_json_end(&j);
    ex_json_row(&j, "cells");
    for (b = 0; b < FLAGS; b++) ex_json_int(&j, flag_names[b], counts[b]);
    ex_json_end(&j);
    ex_json_array(&j, "results");
    for (b = 0; b < BLOCKS; b++) {
        if (!wanted(b)) continue;
        for (v = 0; v < blocks[b].view_count; v++) {
            for (r = 0; r < blocks[b].row_count; r++) {
                for (c = 0; c < blocks[b].column_count; c++) add_json_cell(&j, b, r, v, c);
            }
        }
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

#define ORANGE EX_RGB(0xC2500Au)
#define BLUE EX_RGB(0x0063A6u)
#define GREEN EX_RGB(0x2B8C3Eu)
#define GREY EX_RGB(0x7B8794u)

/* A plot on the canvas; scales logarithmic where asked for. */
typedef struct plane {
    ex_canvas *c;
    ex_rect r;
    double x_low, x_high, y_low, y_high;
    bool x_log, y_log;
} plane;

static double share(double v, double low, double high, bool logarithmic)
{
    return logarithmic ? log(v / low) / log(high / low) : (v - low) / (high - low);
}

static double across(const plane *p, double x)
{
    return p->r.x + p->r.width * share(x, p->x_low, p->x_high, p->x_log);
}

static double down(const plane *p, double y)
{
    return p->r.y + p->r.height * (1 - share(y, p->y_low, p->y_high, p->y_log));
}

/* A grid line with its name at the left, or a tick with its name below. */
static void mark_y(const plane *p, double y, const char *name)
{
    ex_draw_line(p->c, p->r.x, down(p, y), p->r.x + p->r.width, down(p, y), 1, EX_GRID);
    ex_draw_text(p->c, p->r.x - 12, down(p, y), 16, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED, name);
}

static void mark_x(const plane *p, double x, const char *name)
{
    double bottom = p->r.y + p->r.height;

    ex_draw_line(p->c, across(p, x), bottom, across(p, x), bottom + 6, 1.25, EX_AXIS);
    ex_draw_text(p->c, across(p, x), bottom + 12, 16, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED, name);
}

/* ---- partial_views.png ----- */

typedef struct line {
    int32_t block, row;
    ex_color color;
    double width;
    ex_dash dash;
    const char *name;
} line;

#define VIOLET EX_RGB(0x8A4FB0u)
static const line lines[] = {
    { UNTOLD, 2, ORANGE, 3.5, EX_DASHED, "SED, told CPUs" },
    { TOLD, 1, ORANGE, 3.5, EX_SOLID, "SED, told capacities" },
    { UNTOLD, 1, ORANGE, 2, EX_DOTTED, "least in flight (LSQ)" },
    { UNTOLD, 3, GREEN, 2.5, EX_DASHED, "power-of-two, told CPUs" },
    { TOLD, 2, GREEN, 2.5, EX_SOLID, "power-of-two, told capacities" },
    { EQUALISE, 1, VIOLET, 2.5, EX_DOTTED, "equalise, told nothing" },
    { TOLD, 0, GREY, 2, EX_SOLID, "random, told capacities" },
    { DRAWS, 0, BLUE, 5, EX_SOLID, "draw, told capacities" },
    { TOLD, 3, GREY, 2, EX_DASH_DOT, "SED that sees all queues" },
};
enum { LINES = EX_COUNT(lines) };

/* Where the line ends at the right, and answers what is found there. */
static finding draw_view_line(const plane *p, const line *l, double *y)
{
    const block *t = &blocks[l->block];
    ex_point points[COLUMNS_MAX];
    finding last = find(l->block, l->row, 0, t->column_count - 1);
    int32_t c;

    for (c = 0; c < t->column_count; c++) {
        points[c].x = across(p, t->columns[c].balancers);
        points[c].y = down(p, find(l->block, l->row, 0, c).ours.mean);
    }
    ex_draw_polyline(p->c, points, t->column_count, l->width, l->dash, l->color);
    for (c = 0; c < t->column_count; c++) ex_draw_circle(p->c, points[c].x, points[c].y, l->width + 1.5, l->color);
    *y = points[t->column_count - 1].y;
    return last;
}

/* Names that would overlap give way to each other, half the distance each, until none does. */
static void give_way(double place[LINES], const int32_t order[LINES], int32_t count)
{
    const double apart = 23;
    int32_t round, i;

    for (round = 0; round < 200; round++) {
        for (i = 0; i + 1 < count; i++) {
            double lacks = apart - (place[order[i + 1]] - place[order[i]]);
            if (lacks <= 0) continue;
            place[order[i]] -= lacks / 2;
            place[order[i + 1]] += lacks / 2;
        }
    }
}

static void draw_view_lines(const plane *p)
{
    double at[LINES], place[LINES], x = p->r.x + p->r.width;
    int32_t order[LINES], count = 0, i, k;
    finding last[LINES];
    char name[80], rejected[32];

    for (i = LINES - 1; i >= 0; i--) {
        if (!wanted(lines[i].block)) continue;
        last[i] = draw_view_line(p, &lines[i], &at[i]);
        place[i] = at[i];
        for (k = count++; k > 0 && at[order[k - 1]] > at[i]; k--) order[k] = order[k - 1];
        order[k] = i;
    }
    give_way(place, order, count);
    for (k = 0; k < count; k++) {
        const line *l = &lines[i = order[k]];
        ex_point lead[3] = { { x + 9, at[i] }, { x + 24, place[i] }, { x + 28, place[i] } };
        ex_draw_polyline(p->c, lead, 3, 1, EX_SOLID, ex_alpha(l->color, 0.4));
        snprintf(name, sizeof name, "%s: %.0f ms%s", l->name, last[i].ours.mean,
                 rejected_text(&last[i], EX_FLOW_MEAN, rejected));
        ex_draw_text(p->c, x + 34, place[i], 17, l->width > 3 ? EX_BOLD : EX_REGULAR, EX_LEFT | EX_MIDDLE, l->color,
                     name);
    }
}

static bool picture_views(void)
{
    static const double marks[] = { 200, 300, 500, 1000, 2000, 3000 };
    static const char *const mark_names[] = { "0.2 s", "0.3 s", "0.5 s", "1 s", "2 s", "3 s" };
    plane p = { NULL, { 92, 152, 800, 530 }, 1, 128, 170, 3300, true, true };
    ex_canvas canvas;
    int32_t i;
    bool ok;

    if (!ex_canvas_create(&canvas, 1340, 800)) return false;
    p.c = &canvas;
    ex_draw_text(&canvas, 36, 34, 28, EX_BOLD, EX_LEFT | EX_TOP, EX_INK,
                 "Balancers that see only their own requests herd");
    ex_draw_text(&canvas, 36, 76, 18, EX_REGULAR, EX_LEFT | EX_TOP, EX_MUTED,
                 "Mean time of a request against the number of balancers that share the work: always the same 24 "
                 "servers of unequal speed,\nalways the same load (0.84). Told CPUs: how many each server has; told "
                 "capacities: how fast they are as well.");
    for (i = 0; i < EX_COUNT(marks); i++) mark_y(&p, marks[i], mark_names[i]);
    for (i = 0; i < EX_COUNT(many); i++) mark_x(&p, many[i].balancers, many[i].name);
    ex_draw_line(&canvas, p.r.x, p.r.y + p.r.height, p.r.x + p.r.width, p.r.y + p.r.height, 1.25, EX_AXIS);
    ex_draw_text(&canvas, p.r.x + p.r.width / 2, p.r.y + p.r.height + 40, 17, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED,
                 "balancers, each of which sees its own requests only");
    draw_view_lines(&p);
    ok = ex_canvas_write_png(&canvas, ex_path_join(out, "partial_views.png").text);
    ex_canvas_free(&canvas);
    return ok;
}

/* ---- published_tables.png ----- */

static ex_color color_of_row(int32_t b, int32_t r)
{
    static const ex_color colors[] = { GREY, GREEN, ORANGE, BLUE };

    return colors[b == B ? 3 - r : r];
}

/* Ours with the bar where a published figure is to be expected, the published one a ring around it. */
static void draw_pair(const plane *p, double x, const finding *f, ex_color color)
{
    double low = fmax(f->low, p->y_low), high = fmin(f->high, p->y_high), y = down(p, f->published);

    ex_draw_circle(p->c, x, y, 8.5, ex_alpha(color, 0.85));
    ex_draw_circle(p->c, x, y, 6.3, EX_WHITE);
    if (isfinite(f->low)) ex_draw_line(p->c, x, down(p, low), x, down(p, high), 5, ex_alpha(color, 0.3));
    ex_draw_circle(p->c, x, down(p, f->ours.mean), 3.6, color);
}

static void draw_panel(ex_canvas *canvas, ex_rect r, int32_t b, int32_t v, const double *marks, int32_t mark_count)
{
    static const char *const over[] = { [A] = "Table A, 4 and 2 CPUs, by load: ",
                                        [B] = "Table B, load 0.7, by balancers (LB): " };
    const block *t = &blocks[b];
    plane p = { canvas, r, -0.5, t->column_count - 0.5, marks[0], marks[mark_count - 1], false, v == 1 || b == B };
    double step = 0.82 / t->row_count;
    char text[96];
    int32_t i, c;

    snprintf(text, sizeof text, "%s%s", over[b], t->views[v].name);
    ex_draw_text(canvas, r.x - 50, r.y - 40, 18, EX_BOLD, EX_LEFT | EX_TOP, EX_TEXT, text);
    for (i = 0; i < mark_count; i++) {
        snprintf(text, sizeof text, "%g", marks[i]);
        mark_y(&p, marks[i], text);
    }
    for (c = 0; c < t->column_count; c++) {
        mark_x(&p, c, t->columns[c].name);
        for (i = 0; i < t->row_count; i++) {
            finding f = find(b, i, v, c);
            draw_pair(&p, across(&p, c + (i - (t->row_count - 1) / 2.0) * step), &f, color_of_row(b, i));
        }
    }
    ex_draw_line(canvas, r.x, r.y + r.height, r.x + r.width, r.y + r.height, 1.25, EX_AXIS);
}

static void draw_legend(ex_canvas *c, double x, double y)
{
    int32_t r;

    for (r = 0; r < EX_COUNT(rows_a); r++) {
        ex_draw_circle(c, x, y, 6, color_of_row(A, r));
        ex_draw_text(c, x + 14, y, 18, EX_REGULAR, EX_LEFT | EX_MIDDLE, color_of_row(A, r), rows_a[r].name);
        x += 100;
    }
    ex_draw_circle(c, x + 20, y, 3.6, EX_TEXT);
    ex_draw_line(c, x + 20, y - 12, x + 20, y + 12, 5, ex_alpha(EX_TEXT, 0.3));
    ex_draw_text(c, x + 34, y, 18, EX_REGULAR, EX_LEFT | EX_MIDDLE, EX_TEXT,
                 "ours, and where one published episode should lie");
    ex_draw_circle(c, x + 480, y, 8.5, EX_TEXT);
    ex_draw_circle(c, x + 480, y, 6.3, EX_WHITE);
    ex_draw_text(c, x + 498, y, 18, EX_REGULAR, EX_LEFT | EX_MIDDLE, EX_TEXT, "published");
}

static bool picture_tables(void)
{
    static const double fair[] = { 0.5, 0.6, 0.7, 0.8, 0.9, 1 }, wait_a[] = { 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2 },
                        wait_b[] = { 0.1, 0.2, 0.5, 1, 2, 4 }, most[] = { 0.5, 1, 2, 5, 10, 20 };
    bool a = wanted(A), b = wanted(B);
    double top_b = a ? 620 : 190;
    ex_canvas canvas;
    bool ok;

    if (!ex_canvas_create(&canvas, 1400, a && b ? 1040 : 620)) return false;
    ex_draw_text(&canvas, 36, 34, 28, EX_BOLD, EX_LEFT | EX_TOP, EX_INK,
                 "Published figures of a flow-level simulator, and ours");
    draw_legend(&canvas, 44, 98);
    if (a) {
        draw_panel(&canvas, (ex_rect){ 90, 190, 580, 330 }, A, 0, fair, EX_COUNT(fair));
        draw_panel(&canvas, (ex_rect){ 780, 190, 580, 330 }, A, 1, wait_a, EX_COUNT(wait_a));
    }
    if (b) {
        draw_panel(&canvas, (ex_rect){ 90, top_b, 580, 330 }, B, 0, wait_b, EX_COUNT(wait_b));
        draw_panel(&canvas, (ex_rect){ 780, top_b, 580, 330 }, B, 1, most, EX_COUNT(most));
    }
    ok = ex_canvas_write_png(&canvas, ex_path_join(out, "published_tables.png").text);
    ex_canvas_free(&canvas);
    return ok;
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static bool write_all(void)
{
    bool tables = wanted(A) || wanted(B);

    if (!write_report() || !write_json()) return false;
    if ((tables && !picture_tables()) || (wanted(UNTOLD) && !picture_views())) return false;
    if (!quiet) {
        printf("in %s: published.md results.json%s%s\n", out, tables ? " published_tables.png" : "",
               wanted(UNTOLD) ? " partial_views.png" : "");
    }
    return true;
}

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    int status = ex_options_parse(&program, argc, argv), i;

    if (status != EX_GO_ON) return status;
    if (!ex_folder_lock(out, &lock)) return EX_FAILED;
    status = prepare() ? ex_cells_run(cells, cell_count, jobs, "simulating", quiet) : EX_FAILED;
    if (status == EX_GO_ON) {
        if (!quiet) print_all();
        status = write_all() ? EX_OK : EX_FAILED;
    }
    ex_cells_free(cells, cell_count);
    free(choosers);
    for (i = 0; i < WORLDS; i++) ex_flows_close(&world_of[i]);
    ex_folder_unlock(&lock);
    return status;
}
