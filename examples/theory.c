/* theory.c - the flow-level world beside queueing theory

   Shows how far the world of rllb_env.h can be believed: queues whose answers are known, simulated with the balancer
   that is embedded, each beside its formula. First come, first served and processor sharing; the losses of a full
   server; the queues that two choices leave, against the limit of infinitely many servers, and how they settle; the
   shortest queue against exact solutions and bounds; and the books, balanced at every single event.

   Build:   make build/theory
   Run:     build/theory --out out/theory         some two minutes; --quick: seconds
   Prints:  a row for every figure: theory, measured, its interval of 95 %, and how far they are apart
   Writes:  results.json, theory.csv, theory.png
   Ends with 1 if a figure is not as theory has it, or too few flows tell.

   Time counts in mean services. A figure is the mean of independent runs (--runs), each from empty through a time that
   is not counted; its interval is Student's. A figure agrees with theory if it is within 1 % of it and within twice its
   interval of 95 %, which by chance alone a true one misses once in 2,000 times; whether theory lies in the interval
   itself is said besides, and should be so 19 times of 20. --quick is for a first look: 10 %, and four times. */

#define RLLB_IMPLEMENTATION
#include "rllb_env.h"

#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUNS_MOST = 100,
    ROWS_MOST = 120,
    SERVERS_MOST = 1000,
    LEVELS = 20,  /* flows at a server */
    BINS = 200,   /* of times in the system, for the picture */
    POINTS = 24   /* in time, on the way from empty */
};

#define BIN 0.5 /* mean services */
#define BLUE EX_RGB(0x0063A6u)
#define ORANGE EX_RGB(0xC2500Au)
#define GREEN EX_RGB(0x00775Bu)
#define GREY EX_RGB(0x7B8794u)

/* ---- settings ---------------------------------------------------------------------------------------------- */

enum { QUEUES, SHARING, LOSS, CHOICES, SHORTEST, FLOWS, GROUPS };
static const char *const groups[] = { "queues", "sharing", "loss", "choices", "shortest", "flows", NULL };

static uint32_t wanted = (1u << GROUPS) - 1;
static int32_t runs = 20;
static double length = 1;
static uint64_t seed = 1;
static bool quick, quiet;
static const char *out = "out/theory";

static ex_option options[] = {
    EX_CHOICES("only", &wanted, groups, "parts of it; the picture needs choices and shortest"),
    EX_INT("runs", &runs, 5, RUNS_MOST, "N", "independent runs for every figure"),
    EX_DOUBLE("length", &length, 0.001, 1000, "X", "times as long as by default"),
    EX_FLAG("quick", &quick, "a fiftieth of the length and half the runs, unless given; 10 % in place of 1 %"),
    EX_SEED("seed", &seed, "of all random numbers"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress bar, no table"),
};

static ex_program program = { .name = "theory",
                              .summary = "sets the flow-level world beside queueing theory",
                              .options = options, .option_count = EX_COUNT(options) };

/* ---- theory ------------------------------------------------------------------------------------------------ */

/* Offered load a at c servers without a queue: the share that is turned away, whatever the law of the work. */
static double erlang_b(int32_t c, double a)
{
    double b = 1;
    int32_t k;

    for (k = 1; k <= c; k++) b = a * b / (k + a * b);
    return b;
}

/* With a queue: the share that waits. */
static double erlang_c(int32_t c, double a)
{
    double b = erlang_b(c, a);
    return b / (1 - a / c * (1 - b));
}

static double mmc_time(int32_t c, double a)
{
    return 1 + erlang_c(c, a) / (c - a);
}

/* First come, first served: the share that takes longer than t. */
static double mmc_longer(int32_t c, double a, double t)
{
    double rate = c - a - 1; /* with c = 1 this is exp(-(1 - a) t) */
    return exp(-t) * (1 + erlang_c(c, a) * (1 - exp(-rate * t)) / rate);
}

/* Pollaczek and Khinchine; `variance` of the work, whose mean is 1. */
static double mg1_time(double load, double variance)
{
    return 1 + load * (1 + variance) / (2 * (1 - load));
}

/* Of n servers in turn each has an arrival at every n-th of a Poisson process, a queue E_n/M/1: the share that meets
   it busy is the root below 1 of s = (n load / (n load + 1 - s))^n, and times are exponential, of rate 1 - s. */
static double turns_busy(int32_t n, double load)
{
    double s = load;
    int32_t i;

    for (i = 0; i < 10000; i++) s = pow(n * load / (n * load + 1 - s), n);
    return s;
}

/* Two choices, infinitely many servers (Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher 1996): the share of
   servers with at least k flows. */
static double two_level(double load, int32_t k)
{
    return pow(load, pow(2, k) - 1);
}

static double two_flows(double load)
{
    double sum = 0;
    int32_t k;

    for (k = 1; k < 30; k++) sum += two_level(load, k);
    return sum;
}

/* On the way there: d s[k] / dt = load (s[k-1]^2 - s[k]^2) - (s[k] - s[k+1]). */
static void two_slope(const double *s, double load, double *slope)
{
    int32_t k;

    slope[0] = 0;
    for (k = 1; k < LEVELS; k++) {
        slope[k] = load * (s[k - 1] * s[k - 1] - s[k] * s[k]) - (s[k] - (k + 1 < LEVELS ? s[k + 1] : 0));
    }
}

static void two_step(double *s, double load, double h)
{
    double k1[LEVELS], k2[LEVELS], k3[LEVELS], k4[LEVELS], at[LEVELS];
    int32_t k;

    two_slope(s, load, k1);
    for (k = 0; k < LEVELS; k++) at[k] = s[k] + h / 2 * k1[k];
    two_slope(at, load, k2);
    for (k = 0; k < LEVELS; k++) at[k] = s[k] + h / 2 * k2[k];
    two_slope(at, load, k3);
    for (k = 0; k < LEVELS; k++) at[k] = s[k] + h * k3[k];
    two_slope(at, load, k4);
    for (k = 0; k < LEVELS; k++) s[k] += h / 6 * (k1[k] + 2 * k2[k] + 2 * k3[k] + k4[k]);
}

static double sum_levels(const double *s)
{
    double sum = 0;
    int32_t k;

    for (k = 1; k < LEVELS; k++) sum += s[k];
    return sum;
}

/* Flows per server at time[0 ... count-1], from empty; answers when it is within 1 % of its limit for good. */
static double two_settles(double load, const double *time, double *flows, int32_t count)
{
    double s[LEVELS] = { 1 }, t = 0, h, goal = 0.99 * two_flows(load);
    int32_t i;

    for (i = 0; i < count; i++) {
        while (t < time[i] - 1e-9) {
            h = fmin(0.05, time[i] - t);
            two_step(s, load, h);
            t += h;
        }
        flows[i] = sum_levels(s);
    }
    for (t = 0, memset(s, 0, sizeof s), s[0] = 1; sum_levels(s) < goal; t += 0.05) two_step(s, load, 0.05);
    return t;
}

/* Markov chains on a grid, solved by their balance equations (Gauss and Seidel): two queues, i and j long, behind one
   balancer that takes the smaller (length + 1) / weight, and any of two equals; or arrivals in phase i at a queue j
   long. The grid ends where nothing ever is. */
typedef struct chain {
    int32_t wide, high;
    double rate, speed[2], weight[2]; /* two queues */
    double burst[2], burst_s[2];      /* or one: burst_s > 0 */
} chain;

/* To i + 1, i - 1, j + 1, j - 1. */
static void chain_rates(const chain *c, int32_t i, int32_t j, double rate[4])
{
    double one = (i + 1) / c->weight[0], other = (j + 1) / c->weight[1];
    double first = one < other ? 1 : one > other ? 0 : 0.5;

    if (c->burst_s[0] > 0) {
        rate[0] = i == 0 ? 1 / c->burst_s[0] : 0;
        rate[1] = i == 1 ? 1 / c->burst_s[1] : 0;
        rate[2] = c->rate * c->burst[i];
        rate[3] = 1;
    } else {
        rate[0] = c->rate * first;
        rate[1] = c->speed[0];
        rate[2] = c->rate * (1 - first);
        rate[3] = c->speed[1];
    }
    if (i + 1 == c->wide) rate[0] = 0;
    if (i == 0) rate[1] = 0;
    if (j + 1 == c->high) rate[2] = 0;
    if (j == 0) rate[3] = 0;
}

static void chain_sweep(const chain *c, const double *rate, double *p)
{
    int32_t i, j, at, high = c->high;

    for (i = 0; i < c->wide; i++) {
        for (j = 0; j < high; j++) {
            const double *r = rate + 4 * (at = i * high + j);
            double in = 0;
            if (i) in += p[at - high] * r[-4 * high];
            if (i + 1 < c->wide) in += p[at + high] * r[4 * high + 1];
            if (j) in += p[at - 1] * r[-4 + 2];
            if (j + 1 < high) in += p[at + 1] * r[4 + 3];
            p[at] = in / (r[0] + r[1] + r[2] + r[3]);
        }
    }
}

/* Sums to 1; answers the mean number of flows. */
static double chain_mean(const chain *c, double *p)
{
    double sum = 0, mean = 0;
    int32_t i, j;

    for (i = 0; i < c->wide * c->high; i++) sum += p[i];
    for (i = 0; i < c->wide; i++) {
        for (j = 0; j < c->high; j++) {
            double *one = &p[i * c->high + j];
            *one /= sum;
            mean += *one * (c->burst_s[0] > 0 ? j : i + j);
        }
    }
    return mean;
}

/* NaN: no memory. */
static double chain_flows(const chain *c)
{
    size_t states = (size_t)c->wide * (size_t)c->high;
    double *p = malloc(states * 5 * sizeof *p), *rate = p + states, mean = (double)NAN, before;
    int32_t i, sweep;

    if (!p) return (double)NAN;
    for (i = 0; i < (int32_t)states; i++) {
        chain_rates(c, i / c->high, i % c->high, rate + 4 * i);
        p[i] = pow(0.8, i / c->high + i % c->high); /* anything */
    }
    for (sweep = 0; sweep < 200000; sweep++) {
        chain_sweep(c, rate, p);
        if (sweep % 50) continue;
        before = mean;
        mean = chain_mean(c, p);
        if (fabs(mean - before) < 1e-9 * mean) break;
    }
    free(p);
    return mean;
}

/* ---- measuring --------------------------------------------------------------------------------------------- */

/* What a run tells, each a mean over the run. */
typedef struct run {
    double time, waits, lost;   /* in the system; the share that waited; the share turned away */
    double work;                /* done, over what is expected */
    double little;              /* flows there / (rate times time) */
    double held, level[LEVELS]; /* flows a server; the share of servers that hold at least k */
    double longer[BINS];        /* the share that took longer than k bins */
} run;

/* UNCLEAR: too few flows to tell. LIMIT: theory is that of infinitely many servers; not judged. */
typedef enum verdict { AGREES, DIFFERS, UNCLEAR, LIMIT } verdict;

typedef struct row {
    int32_t group;
    char world[64], what[64];
    double low, high, measured, ci95; /* low = high: exact */
    int64_t flows;
    verdict verdict;
    bool inside; /* theory is within the interval of 95 % */
} row;

static rllb_env_server_desc servers[SERVERS_MOST];
static run result[RUNS_MOST];
static row rows[ROWS_MOST];
static int32_t row_count, group;
static uint64_t stream;
static char world_name[64];
static int64_t flows_done;
static ex_progress bar;

/* n servers, each with `cpus` and room for a queue; each world draws from streams of its own. */
static rllb_env_flows_desc world(const char *name, int32_t n, int32_t cpus, double load)
{
    rllb_env_flows_desc d;
    int32_t i;

    memset(servers, 0, sizeof servers);
    for (i = 0; i < n; i++) servers[i].cpus = cpus;
    rllb_env_flows_desc_default(&d);
    d.servers = servers;
    d.count = n;
    d.work_s = 1;
    d.rate = load * n * cpus;
    d.step_s = 1000; /* none of these policies listens to ticks */
    d.stream = ++stream;
    snprintf(world_name, sizeof world_name, "%s", name);
    return d;
}

typedef struct ear {
    int64_t waited, taking[BINS + 1];
    double work_s;
} ear;

static void hear(void *user, const rllb_env_flow *f)
{
    ear *e = user;
    double took = f->ended_s - f->arrived_s, bin = took / BIN;

    if (f->fate != RLLB_ENV_COMPLETED) return;
    e->work_s += f->work_s;
    e->waited += took > f->work_s + 1e-6;
    e->taking[bin < BINS ? (int32_t)bin : BINS]++;
}

/* Looks at every server. */
static void look(const rllb_env_flows *w, int32_t n, run *r)
{
    int32_t j, k, held = 0;

    for (j = 0; j < n; j++) {
        rllb_env_flows_server(w, j, &held, NULL, NULL);
        r->held += held;
        for (k = 0; k <= held && k < LEVELS; k++) r->level[k]++;
    }
}

static void conclude(run *r, const rllb_env_flows_info *a, const rllb_env_flows_info *b, const ear *e,
                     const rllb_env_flows_desc *d, int32_t looks)
{
    int32_t n = d->count;
    double completed = (double)(b->completed - a->completed), more = completed;
    int32_t k;

    r->work = e->work_s / (d->rate * d->work_s * (b->now_s - a->now_s));
    r->time = (b->duration_sum_s - a->duration_sum_s) / completed;
    r->waits = (double)e->waited / completed;
    r->lost = (double)(b->rejected - a->rejected) / (double)(b->arrived - a->arrived);
    for (k = 0; k < LEVELS; k++) r->level[k] /= (double)n * looks;
    r->held /= (double)n * looks;
    r->little = r->held * n * (b->now_s - a->now_s) / (completed * r->time);
    for (k = 0; k < BINS; k++) {
        r->longer[k] = more / completed;
        more -= (double)e->taking[k];
    }
}

/* Simulates `millions` of flows in all, after a time to settle in each run, and looks at the servers every `look_s` (0:
   never). False: said on stderr, or interrupted. */
static bool measure(const rllb_env_flows_desc *d, double millions, double settle_s, double look_s)
{
    double run_s = millions * 1e6 * length / (runs * d->rate);
    double from_s = quick ? settle_s / 2 : settle_s;
    rllb_env_flows *w = rllb_env_flows_create(d);
    rllb_env_flows_info a, b;
    int32_t r, i, looks = look_s > 0 ? (int32_t)(run_s / look_s) + 1 : 0;
    int64_t flows = 0;
    static ear e;

    if (!w) return ex_fail("%s: not enough memory", world_name) == EX_OK;
    memset(result, 0, sizeof result);
    for (r = 0; r < runs && !ex_interrupted(); r++) {
        rllb_env_flows_reset(w, seed * RUNS_MOST + (uint64_t)r);
        rllb_env_flows_listen(w, NULL, NULL);
        rllb_env_flows_run(w, from_s);
        memset(&e, 0, sizeof e);
        rllb_env_flows_listen(w, hear, &e);
        rllb_env_flows_query(w, &a);
        for (i = 1; i <= looks; i++) {
            rllb_env_flows_run(w, from_s + run_s * i / looks);
            look(w, d->count, &result[r]);
        }
        rllb_env_flows_run(w, from_s + run_s);
        rllb_env_flows_query(w, &b);
        conclude(&result[r], &a, &b, &e, d, looks);
        flows += b.arrived - a.arrived;
        ex_progress_step(&bar, flows_done += b.arrived, "%s", world_name);
        if (b.no_room) break;
    }
    rllb_env_flows_destroy(w);
    if (r < runs && !ex_interrupted()) return ex_fail("%s: too many flows at once", world_name) == EX_OK;
    if (row_count < ROWS_MOST) rows[row_count].flows = flows;
    return !ex_interrupted();
}

/* The values of one member of the results, one a run. */
static const double *all(const double *member)
{
    static double values[RUNS_MOST];
    int32_t r;

    for (r = 0; r < runs; r++) {
        memcpy(&values[r], (const char *)member + (size_t)r * sizeof(run), sizeof values[r]);
    }
    return values;
}

static rllb_stats stats_of(const double *values)
{
    rllb_stats s;
    int32_t r;

    memset(&s, 0, sizeof s);
    for (r = 0; r < runs; r++) rllb_stats_add(&s, values[r]);
    return s;
}

/* What a run measures follows the work that happened to come, whose expectation is known: the part of the spread that
   is due to that is taken out (a control variate, its coefficient by least squares; the rest is spread by as much as
   the line's value at the expectation is less certain than a mean). For worlds that do all the work there is, of
   Poisson arrivals. */
static const double *steadied(const double *member)
{
    static double values[RUNS_MOST];
    double work[RUNS_MOST], mean, work_mean, together = 0, square = 0, rest;
    int32_t r;

    memcpy(work, all(&result[0].work), sizeof work);
    memcpy(values, all(member), sizeof values);
    mean = stats_of(values).mean;
    work_mean = stats_of(work).mean;
    for (r = 0; r < runs; r++) {
        together += (work[r] - work_mean) * (values[r] - mean);
        square += (work[r] - work_mean) * (work[r] - work_mean);
    }
    for (r = 0; r < runs; r++) values[r] -= together / square * (work[r] - 1);
    rest = sqrt((runs - 1.0) / (runs - 2.0) * (1 + runs * (work_mean - 1) * (work_mean - 1) / square));
    mean = stats_of(values).mean;
    for (r = 0; r < runs; r++) values[r] = mean + (values[r] - mean) * rest;
    return values;
}

/* A row of the table: what should lie between low and high. */
static row *put(const char *what, const double *values, double low, double high)
{
    double share = quick ? 0.10 : 0.01, miss;
    rllb_stats s = stats_of(values);
    row *r = &rows[row_count];

    if (row_count + 1 < ROWS_MOST) rows[++row_count].flows = r->flows;
    r->group = group;
    snprintf(r->world, sizeof r->world, "%s", world_name);
    snprintf(r->what, sizeof r->what, "%s", what);
    r->low = low;
    r->high = high;
    r->measured = s.mean;
    r->ci95 = rllb_stats_ci95(&s);
    miss = fmax(0, fmax(low - s.mean, s.mean - high));
    r->inside = miss <= r->ci95;
    r->verdict = miss <= share * fabs(s.mean < low ? low : high) ? AGREES : UNCLEAR;
    if (miss > (quick ? 4 : 2) * r->ci95) r->verdict = DIFFERS;
    return r;
}

static void equals(const char *what, const double *values, double theory)
{
    put(what, values, theory, theory);
}

static void between(const char *what, const double *values, double low, double high)
{
    put(what, values, low, high);
}

static void beside(const char *what, const double *values, double limit)
{
    put(what, values, limit, limit)->verdict = LIMIT;
}

/* ---- queues: first come, first served ---------------------------------------------------------------------- */

static bool queues_mmc(void)
{
    static const struct { const char *name; int32_t c; double load, longer, millions; } list[] = {
        { "M/M/1, load 0.8", 1, 0.8, 5, 12 },
        { "M/M/2, load 0.8", 2, 0.8, 5, 16 },
        { "M/M/8, load 0.9", 8, 0.9, 2, 24 },
    };
    char what[64];
    int32_t i;

    for (i = 0; i < EX_COUNT(list); i++) {
        double a = list[i].load * list[i].c;
        rllb_env_flows_desc d = world(list[i].name, 1, list[i].c, list[i].load);
        if (!measure(&d, list[i].millions, 1000, 0.5)) return false;
        equals("mean time", steadied(&result[0].time), mmc_time(list[i].c, a));
        equals("share that waits", all(&result[0].waits), erlang_c(list[i].c, a));
        snprintf(what, sizeof what, "share longer than %g", list[i].longer);
        equals(what, steadied(&result[0].longer[(int32_t)(list[i].longer / BIN)]),
               mmc_longer(list[i].c, a, list[i].longer));
        equals("flows there / (rate x time)", all(&result[0].little), 1); /* Little */
    }
    return true;
}

static bool queues_mg1(void)
{
    static const struct { const char *name; rllb_env_law law; double spread, variance, millions; } list[] = {
        { "M/D/1, load 0.8", RLLB_ENV_SAME, 0, 0, 8 },
        { "M/G/1, load 0.8, uniform", RLLB_ENV_UNIFORM, 1, 1.0 / 3, 8 },
        { "M/G/1, load 0.8, lognormal", RLLB_ENV_LOGNORMAL, 1, 1, 12 },
        { "M/G/1, load 0.8, Pareto 4.5", RLLB_ENV_PARETO, 4.5, 1 / (4.5 * 2.5), 8 },
    };
    int32_t i;

    for (i = 0; i < EX_COUNT(list); i++) {
        rllb_env_flows_desc d = world(list[i].name, 1, 1, 0.8);
        d.law = list[i].law;
        d.spread = list[i].spread;
        if (!measure(&d, list[i].millions, 1000, 0)) return false;
        equals("mean time", steadied(&result[0].time), mg1_time(0.8, list[i].variance));
    }
    return true;
}

/* Arrivals of two rates in turn, the greater more than the server can do. */
static bool queues_bursts(void)
{
    chain c = { .wide = 2, .high = 600, .rate = 0.8, .weight = { 1, 1 }, .burst = { 2, 0.5 }, .burst_s = { 5, 15 } };
    rllb_env_flows_desc d = world("MMPP/M/1, load 0.7", 1, 1, 0.8);

    memcpy(d.burst, c.burst, sizeof d.burst);
    memcpy(d.burst_s, c.burst_s, sizeof d.burst_s);
    if (!measure(&d, 24, 1000, 0)) return false;
    equals("mean time", all(&result[0].time), chain_flows(&c) / 0.7);
    return true;
}

/* ---- sharing: all at once, each more slowly ----------------------------------------------------------------- */

static bool sharing(void)
{
    static const struct { const char *name; rllb_env_law law; double spread; } list[] = {
        { "M/M/1-PS, load 0.7", RLLB_ENV_EXPONENTIAL, 0 },      { "M/G/1-PS, all the same", RLLB_ENV_SAME, 0 },
        { "M/G/1-PS, uniform", RLLB_ENV_UNIFORM, 1 },           { "M/G/1-PS, normal", RLLB_ENV_NORMAL, 0.25 },
        { "M/G/1-PS, lognormal", RLLB_ENV_LOGNORMAL, 1.5 },     { "M/G/1-PS, Pareto 2.5", RLLB_ENV_PARETO, 2.5 },
    };
    rllb_env_flows_desc d;
    int32_t i;

    for (i = 0; i < EX_COUNT(list); i++) {
        d = world(list[i].name, 1, 1, 0.7);
        servers[0].active = 8192;
        d.law = list[i].law;
        d.spread = list[i].spread;
        if (!measure(&d, 8, 1000, 0)) return false;
        equals("mean time", steadied(&result[0].time), 1 / (1 - 0.7));
    }
    d = world("M/M/8-PS, load 0.9", 1, 8, 0.9);
    servers[0].active = 8192;
    if (!measure(&d, 16, 1000, 0)) return false;
    equals("mean time", steadied(&result[0].time), mmc_time(8, 7.2));
    return true;
}

/* ---- loss: servers that turn away ---------------------------------------------------------------------------- */

static bool loss(void)
{
    rllb_env_flows_desc d = world("M/M/8/8, offered 6.4", 1, 8, 0.8);

    servers[0].most = 8;
    if (!measure(&d, 8, 100, 0)) return false;
    equals("share turned away", all(&result[0].lost), erlang_b(8, 6.4));
    d = world("M/G/8/8, lognormal", 1, 8, 0.8);
    servers[0].most = 8;
    d.law = RLLB_ENV_LOGNORMAL;
    d.spread = 2;
    if (!measure(&d, 8, 200, 0)) return false;
    equals("share turned away", all(&result[0].lost), erlang_b(8, 6.4));
    d = world("M/M/1/10, load 1.2", 1, 1, 1.2);
    servers[0].most = 10;
    if (!measure(&d, 8, 500, 0)) return false;
    equals("share turned away", all(&result[0].lost), pow(1.2, 10) * (1 - 1.2) / (1 - pow(1.2, 11)));
    return true;
}

/* ---- choices: the less loaded of two servers ----------------------------------------------------------------- */

/* Kept for the picture: at load 0.9 and 0.99. */
enum { SIZES = 3, LOADS = 2 };
static const double loads[LOADS] = { 0.9, 0.99 };
static const int32_t sizes[SIZES] = { 250, 500, 1000 };

static struct choices {
    bool there;
    double level[LOADS][LEVELS], level_ci[LOADS][LEVELS]; /* of 500 servers */
    double random[LEVELS];                                /* at load 0.9, any of 100 */
    double excess[LOADS][SIZES], excess_ci[LOADS][SIZES]; /* of flows a server over the limit, as a share of it */
    double settles[LOADS], time[LOADS][POINTS];
    double way[LOADS][POINTS], way_low[LOADS][POINTS], way_high[LOADS][POINTS], theory[LOADS][POINTS];
} choices;

static rllb_env_flows_desc two_of(int32_t n, double load)
{
    char name[64];
    rllb_env_flows_desc d;

    snprintf(name, sizeof name, "two of %d, load %g", (int)n, load);
    d = world(name, n, 1, load);
    d.balancer.policy = RLLB_BALANCE_P2C;
    return d;
}

static void keep_levels(int32_t l)
{
    char what[64];
    int32_t k;

    for (k = 1; k < LEVELS; k++) {
        rllb_stats s = stats_of(steadied(&result[0].level[k]));
        choices.level[l][k] = s.mean;
        choices.level_ci[l][k] = rllb_stats_ci95(&s);
        snprintf(what, sizeof what, "share with at least %d", (int)k);
        if (two_level(loads[l], k) > 1e-3) beside(what, steadied(&result[0].level[k]), two_level(loads[l], k));
    }
}

/* A little overload at first fills the queues sooner than they would fill by themselves. */
static void hurry(rllb_env_flows_desc *d, double load)
{
    static rllb_env_event events[2];
    double s[LEVELS] = { 1 }, t = 0;

    for (; sum_levels(s) < two_flows(load); t += 0.05) two_step(s, 1.3, 0.05);
    memset(events, 0, sizeof events);
    events[0].kind = events[1].kind = RLLB_ENV_EVENT_RATE;
    events[0].value = 1.3 / load;
    events[1].at_s = t;
    events[1].value = 1;
    d->events = events;
    d->event_count = 2;
}

/* 250, 500, 1,000 servers: what is found is nearly a + b / n. By least squares a is the last plus half the difference
   of the first two: run by run, for the figures that runs of this length know to 1 %. */
static void choices_limit(int32_t l, double held[SIZES][RUNS_MOST], double level[SIZES][LEVELS][RUNS_MOST])
{
    static double far[RUNS_MOST];
    char what[64];
    int32_t k, r;

    snprintf(world_name, sizeof world_name, "two of infinitely many, load %g", loads[l]);
    for (r = 0; r < runs; r++) far[r] = held[2][r] + (held[1][r] - held[0][r]) / 2;
    equals("flows per server", far, two_flows(loads[l]));
    for (k = 1; k < LEVELS && two_level(loads[l], k) > (l ? 0.6 : 0.2); k++) {
        for (r = 0; r < runs; r++) far[r] = level[2][k][r] + (level[1][k][r] - level[0][k][r]) / 2;
        snprintf(what, sizeof what, "share with at least %d", (int)k);
        equals(what, far, two_level(loads[l], k));
    }
}

static bool choices_sizes(int32_t l)
{
    static double held[SIZES][RUNS_MOST], level[SIZES][LEVELS][RUNS_MOST];
    double limit = two_flows(loads[l]);
    int32_t i, k;

    for (i = 0; i < SIZES; i++) {
        rllb_env_flows_desc d = two_of(sizes[i], loads[l]);
        rllb_stats s;
        hurry(&d, loads[l]);
        if (!measure(&d, l ? 16 : 6, l ? 250 : 100, 1)) return false;
        memcpy(held[i], steadied(&result[0].held), sizeof held[i]);
        for (k = 1; k < LEVELS; k++) memcpy(level[i][k], steadied(&result[0].level[k]), sizeof level[i][k]);
        s = stats_of(held[i]);
        choices.excess[l][i] = s.mean / limit - 1;
        choices.excess_ci[l][i] = rllb_stats_ci95(&s) / limit;
        beside("flows per server", held[i], limit);
        if (sizes[i] == 500) keep_levels(l);
    }
    choices_limit(l, held, level);
    return true;
}

/* Of 500 servers from empty, a mean over the runs. */
static bool choices_way(int32_t l)
{
    rllb_env_flows_desc d = two_of(500, loads[l]);
    rllb_env_flows *w = rllb_env_flows_create(&d);
    static double way[POINTS][RUNS_MOST];
    rllb_env_flows_info info;
    char what[64];
    int32_t r, i;

    if (!w) return ex_fail("%s: not enough memory", world_name) == EX_OK;
    for (i = 0; i < POINTS; i++) choices.time[l][i] = pow(l && !quick ? 1000 : 100, (i + 1.0) / POINTS);
    choices.settles[l] = two_settles(loads[l], choices.time[l], choices.theory[l], POINTS);
    for (r = 0; r < runs && !ex_interrupted(); r++) {
        rllb_env_flows_reset(w, seed * RUNS_MOST + (uint64_t)r);
        for (i = 0; i < POINTS; i++) {
            rllb_env_flows_run(w, choices.time[l][i]);
            rllb_env_flows_query(w, &info);
            way[i][r] = (double)info.in_flight / d.count;
        }
        ex_progress_step(&bar, flows_done += info.arrived, "%s, from empty", world_name);
    }
    rllb_env_flows_destroy(w);
    for (i = 0; i < POINTS; i++) {
        rllb_stats s = stats_of(way[i]);
        choices.way[l][i] = s.mean;
        choices.way_low[l][i] = s.mean - rllb_stats_ci95(&s);
        choices.way_high[l][i] = s.mean + rllb_stats_ci95(&s);
        snprintf(what, sizeof what, "flows per server %.3g after empty", choices.time[l][i]);
        if (i % 4 == 3) beside(what, way[i], choices.theory[l][i]);
    }
    return !ex_interrupted();
}

static bool choices_all(void)
{
    rllb_env_flows_desc d = world("any of 100, load 0.9", 100, 1, 0.9);
    int32_t l, k;

    d.balancer.policy = RLLB_BALANCE_ECMP;
    if (!measure(&d, 24, 2000, 2)) return false;
    equals("flows per server", steadied(&result[0].held), 0.9 / (1 - 0.9));
    for (k = 1; k < LEVELS; k++) choices.random[k] = stats_of(steadied(&result[0].level[k])).mean;
    equals("share with at least 10", steadied(&result[0].level[10]), pow(0.9, 10));
    for (l = 0; l < LOADS; l++) {
        if (!choices_sizes(l) || !choices_way(l)) return false;
    }
    choices.there = true;
    return true;
}

/* ---- shortest: the queue where a flow is done soonest -------------------------------------------------------- */

enum { ANY, IN_TURN, SHORTEST_OF_8, POOLED, CURVES };
static double longer[CURVES][BINS];
static bool longer_there;

static void keep_longer(int32_t curve)
{
    int32_t k;

    for (k = 0; k < BINS; k++) longer[curve][k] = stats_of(all(&result[0].longer[k])).mean;
}

/* Two servers, the second as fast as told; policies by the flows each holds. */
static bool shortest_of_two(const char *name, rllb_balance policy, float speed, float weight)
{
    rllb_env_flows_desc d = world(name, 2, 1, 0.8);
    chain c = { .wide = 120, .high = 160, .speed = { 1, (double)speed }, .weight = { 1, (double)weight } };

    servers[1].speed = speed;
    servers[1].weight = weight;
    c.rate = d.rate = 0.8 * (1 + (double)speed);
    d.balancer.policy = policy;
    if (!measure(&d, 12, 1000, 0)) return false;
    equals("mean time", steadied(&result[0].time), chain_flows(&c) / c.rate);
    return true;
}

/* Eight servers behind one balancer. No policy that sees queues only beats the shortest one (Winston 1977), so it is
   no slower than turns; and no eight queues beat one queue for all. */
static bool shortest_of_eight(void)
{
    double busy = turns_busy(8, 0.8);
    rllb_env_flows_desc d = world("8 servers, load 0.8, any", 8, 1, 0.8);

    d.balancer.policy = RLLB_BALANCE_ECMP;
    if (!measure(&d, 16, 500, 0)) return false;
    equals("mean time", steadied(&result[0].time), 1 / (1 - 0.8));
    keep_longer(ANY);
    d = world("8 servers, load 0.8, in turn", 8, 1, 0.8);
    d.balancer.policy = RLLB_BALANCE_ROUND_ROBIN;
    if (!measure(&d, 16, 500, 0)) return false;
    equals("mean time", steadied(&result[0].time), 1 / (1 - busy));
    equals("share longer than 5", steadied(&result[0].longer[10]), exp(-(1 - busy) * 5));
    keep_longer(IN_TURN);
    d = world("8 servers, load 0.8, shortest", 8, 1, 0.8);
    d.balancer.policy = RLLB_BALANCE_LSQ;
    if (!measure(&d, 8, 500, 0)) return false;
    between("mean time: one queue ... in turn", steadied(&result[0].time), mmc_time(8, 6.4), 1 / (1 - busy));
    keep_longer(SHORTEST_OF_8);
    d = world("M/M/8, load 0.8", 1, 8, 0.8);
    if (!measure(&d, 8, 500, 0)) return false;
    equals("mean time", steadied(&result[0].time), mmc_time(8, 6.4));
    keep_longer(POOLED);
    longer_there = true;
    return true;
}

static bool shortest(void)
{
    return shortest_of_two("2 servers, load 0.8, lsq", RLLB_BALANCE_LSQ, 1, 1) &&
           shortest_of_two("speeds 1 and 1.618, load 0.8, lsq", RLLB_BALANCE_LSQ, 1.618f, 1) &&
           shortest_of_two("speeds 1 and 1.618, load 0.8, sed", RLLB_BALANCE_SED, 1.618f, 1.618f) &&
           shortest_of_eight();
}

/* ---- flows: the books balance at every event ----------------------------------------------------------------- */

/* All that can go wrong: servers that slow down, stop, fail, leave and join, a burst that fills the pool, clients that
   give up, servers that are full. */
static rllb_env_flows_desc troubled(void)
{
    static const rllb_env_event events[] = {
        { 20, RLLB_ENV_EVENT_SPEED, 0, 0.3 },  { 40, RLLB_ENV_EVENT_FAIL, 1, 0.5 },  { 50, RLLB_ENV_EVENT_SPEED, 2, 0 },
        { 70, RLLB_ENV_EVENT_JOIN, 3, 0 },     { 80, RLLB_ENV_EVENT_LEAVE, 4, 0 },   { 90, RLLB_ENV_EVENT_RATE, 0, 6 },
        { 110, RLLB_ENV_EVENT_RATE, 0, 1 },    { 115, RLLB_ENV_EVENT_BACK, 2, 0 },   { 120, RLLB_ENV_EVENT_BACK, 1, 0 },
        { 130, RLLB_ENV_EVENT_JOIN, 4, 0 },    { 140, RLLB_ENV_EVENT_BACK, 0, 0 },
    };
    rllb_env_flows_desc d = world("two balancers, troubled servers", 7, 2, 0.9);
    int32_t i;

    for (i = 0; i < 7; i++) {
        servers[i].active = 8;
        servers[i].most = 12;
    }
    servers[3].absent = true;
    d.balancers = 2;
    d.balancer.policy = RLLB_BALANCE_SED;
    d.law = RLLB_ENV_LOGNORMAL;
    d.io = 0.2;
    d.stages = 4;
    d.hop_s[0] = 0.01;
    d.hop_s[1] = 0.2;
    d.timeout_s = 8;
    d.reject_s = 0.5;
    d.sample_s = 1;
    d.step_s = 2.5;
    d.flows_max = 128;
    d.events = events;
    d.event_count = EX_COUNT(events);
    return d;
}

static bool balances(const rllb_env_flows *w, int32_t n, rllb_env_flows_info *now)
{
    const rllb_env_flows_info before = *now;
    int32_t j, held = 0, running = 0, all_held = 0;
    bool ok = true;

    rllb_env_flows_query(w, now);
    for (j = 0; j < n; j++) {
        rllb_env_flows_server(w, j, &held, &running, NULL);
        ok = ok && running >= 0 && running <= held && held <= servers[j].most;
        all_held += held;
    }
    return ok && now->arrived == now->completed + now->rejected + now->failed + now->timed_out + now->in_flight &&
           now->in_flight >= 0 && now->abandoned >= 0 && now->in_flight + now->abandoned <= 128 &&
           all_held <= now->in_flight + now->abandoned && now->no_room <= now->rejected &&
           now->arrived >= before.arrived && now->completed >= before.completed && now->failed >= before.failed &&
           now->rejected >= before.rejected && now->timed_out >= before.timed_out;
}

static bool conservation(void)
{
    rllb_env_flows_desc d = troubled();
    rllb_env_flows *w = rllb_env_flows_create(&d);
    static double wrong[RUNS_MOST], kinds[RUNS_MOST];
    int64_t stops = 0;
    int32_t r;

    if (!w) return ex_fail("%s: not enough memory", world_name) == EX_OK;
    for (r = 0; r < runs && !ex_interrupted(); r++) {
        rllb_env_flows_info now;
        double next_s;
        memset(&now, 0, sizeof now);
        rllb_env_flows_reset(w, seed * RUNS_MOST + (uint64_t)r);
        wrong[r] = 0;
        while ((next_s = rllb_env_flows_next_s(w)) <= 200) {
            wrong[r] += rllb_env_flows_run(w, next_s) != RLLB_OK || !balances(w, d.count, &now);
            stops++;
        }
        kinds[r] = (now.completed > 0) + (now.rejected > now.no_room) + (now.no_room > 0) + (now.failed > 0) +
                   (now.timed_out > 0);
        flows_done += now.arrived;
    }
    rllb_env_flows_destroy(w);
    rows[row_count].flows = stops;
    equals("events after which flows are amiss", wrong, 0);
    equals("kinds of ends that were met", kinds, 5);
    return !ex_interrupted();
}

/* ---- report ------------------------------------------------------------------------------------------------ */

static const char *const verdict_names[] = { "agrees", "DIFFERS", "unclear", "limit" };

static double error_of(const row *r)
{
    return r->low < r->high ? 0 : r->low > 0 || r->low < 0 ? r->measured / r->low - 1 : r->measured;
}

static void number(char out_text[48], double value)
{
    if (fabs(value) >= 0.01 || fabs(value) <= 0) snprintf(out_text, 48, "%.5g", value);
    else snprintf(out_text, 48, "%.3g", value);
}

static void print_rows(void)
{
    ex_table t = { 0 };
    char text[48], other[48];
    int32_t i;

    ex_table_cell(&t, "world");
    ex_table_cell(&t, "figure");
    ex_table_cell(&t, "theory");
    ex_table_cell(&t, "measured");
    ex_table_cell(&t, "± 95 %%");
    ex_table_cell(&t, "off by %%");
    ex_table_cell(&t, "verdict");
    ex_table_row(&t);
    for (i = 0; i < row_count; i++) {
        const row *r = &rows[i];
        if (i > 0 && r->group != rows[i - 1].group) ex_table_rule(&t);
        ex_table_cell(&t, "%s", i > 0 && strcmp(r->world, rows[i - 1].world) == 0 ? "" : r->world);
        ex_table_cell(&t, "%s", r->what);
        number(text, r->low);
        number(other, r->high);
        if (r->low < r->high) ex_table_cell(&t, "%s ... %s", text, other);
        else ex_table_cell(&t, "%s", text);
        number(text, r->measured);
        ex_table_cell(&t, "%s", text);
        number(text, r->ci95);
        ex_table_cell(&t, "%s", text);
        if (r->low < r->high) ex_table_cell(&t, " ");
        else ex_table_cell(&t, "%+.2f", 100 * error_of(r));
        ex_table_cell(&t, "%s%s", r->verdict == LIMIT ? "limit" : verdict_names[r->verdict],
                      r->verdict == AGREES && !r->inside ? ", just" : "");
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static int32_t count_of(verdict v)
{
    int32_t i, count = 0;

    for (i = 0; i < row_count; i++) count += rows[i].verdict == v;
    return count;
}

static int32_t count_inside(void)
{
    int32_t i, count = 0;

    for (i = 0; i < row_count; i++) count += rows[i].verdict != LIMIT && rows[i].inside;
    return count;
}

static void print_summary(void)
{
    int32_t judged = row_count - count_of(LIMIT), l;

    printf("\n%d of %d figures agree with theory within %s and %s times their interval of 95 %%; it lies in the\n"
           "interval itself of %d (\"just\": not so). \"limit\": beside infinitely many servers, not judged.\n",
           (int)count_of(AGREES), (int)judged, quick ? "10 %" : "1 %", quick ? "four" : "two",
           (int)count_inside());
    for (l = 0; choices.there && l < LOADS; l++) {
        printf("Two of 500 at load %g: %.1f ± %.1f %% more flows than in the limit; from empty it takes %.0f mean "
               "services to within 1 %%.\n",
               loads[l], 100 * choices.excess[l][1], 100 * choices.excess_ci[l][1], choices.settles[l]);
    }
}

static bool write_rows(void)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i;
    bool ok;

    ex_csv_header(&csv, "group,world,figure,theory,theory_high,measured,ci95,flows,verdict");
    for (i = 0; i < row_count; i++) {
        ex_csv_string(&csv, groups[rows[i].group]);
        ex_csv_string(&csv, rows[i].world);
        ex_csv_string(&csv, rows[i].what);
        ex_csv_double(&csv, rows[i].low);
        ex_csv_double(&csv, rows[i].high);
        ex_csv_double(&csv, rows[i].measured);
        ex_csv_double(&csv, rows[i].ci95);
        ex_csv_int(&csv, rows[i].flows);
        ex_csv_string(&csv, verdict_names[rows[i].verdict]);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(out, "theory.csv").text);
    ex_text_free(&text);
    return ok;
}

static bool write_results(void)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", program.name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    ex_json_row(&j, "settings");
    ex_json_int(&j, "runs", runs);
    ex_json_double(&j, "length", length);
    ex_json_bool(&j, "quick", quick);
    ex_json_end(&j);
    ex_json_int(&j, "agree", count_of(AGREES));
    ex_json_int(&j, "differ", count_of(DIFFERS));
    ex_json_int(&j, "unclear", count_of(UNCLEAR));
    ex_json_int(&j, "inside_95", count_inside());
    ex_json_array(&j, "results");
    for (i = 0; i < row_count; i++) {
        ex_json_row(&j, NULL);
        ex_json_string(&j, "group", groups[rows[i].group]);
        ex_json_string(&j, "world", rows[i].world);
        ex_json_string(&j, "figure", rows[i].what);
        ex_json_double(&j, "theory", rows[i].low);
        ex_json_double(&j, "theory_high", rows[i].high);
        ex_json_double(&j, "measured", rows[i].measured);
        ex_json_double(&j, "ci95", rows[i].ci95);
        ex_json_int(&j, "flows", rows[i].flows);
        ex_json_string(&j, "verdict", verdict_names[rows[i].verdict]);
        ex_json_bool(&j, "inside_95", rows[i].inside);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- the picture: theory as lines, what was measured as points -------------------------------------------------- */

enum { SERIES_MOST = 8, SAMPLES = 256 };

typedef struct drawing {
    double x[SERIES_MOST][SAMPLES], y[SERIES_MOST][SAMPLES];
    ex_series series[SERIES_MOST];
    ex_line_chart chart;
} drawing;

static ex_series *next_series(drawing *d, const char *name, ex_color color)
{
    int32_t i = d->chart.series_count++;
    ex_series *s = &d->series[i];

    s->name = name;
    s->x = d->x[i];
    s->y = d->y[i];
    s->color = color;
    d->chart.series = d->series;
    return s;
}

static void put_point(drawing *d, double x, double y)
{
    int32_t i = d->chart.series_count - 1;
    int32_t at = d->series[i].count++;

    d->x[i][at] = x;
    d->y[i][at] = y;
}

static void as_points(ex_series *s)
{
    s->points = true;
    s->marker = EX_CIRCLE;
}

static void draw_longer(drawing *d)
{
    static const char *const names[] = { "any", "in turn", "shortest queue (no formula)", "one queue for all" };
    static const ex_color colors[] = { GREY, ORANGE, BLUE, GREEN };
    double busy = turns_busy(8, 0.8);
    int32_t i, k;

    d->chart.title = "Eight servers: how long flows take";
    d->chart.subtitle = "Share that takes longer, load 0.8";
    d->chart.x.label = "time in the system, mean services";
    d->chart.x.high = 40;
    d->chart.y.logarithmic = true;
    d->chart.y.low = 1e-5;
    d->chart.y.high = 1;
    for (i = 0; i < CURVES; i++) {
        if (i != SHORTEST_OF_8) {
            next_series(d, NULL, colors[i])->width = 2;
            for (k = 0; k < BINS; k++) {
                double t = k * BIN;
                double y = i == ANY ? exp(-0.2 * t) : i == IN_TURN ? exp(-(1 - busy) * t) : mmc_longer(8, 6.4, t);
                if (y > 1e-5 && t <= 40) put_point(d, t, y);
            }
        }
        as_points(next_series(d, names[i], colors[i]));
        for (k = 0; k < BINS; k += k < 20 ? 2 : 4) {
            if (longer[i][k] > 2e-5 && k * BIN <= 40) put_point(d, k * BIN, longer[i][k]);
        }
    }
}

static void draw_levels(drawing *d)
{
    static const char *const names[] = { "two, load 0.9", "two, load 0.99" };
    static const ex_color colors[] = { ORANGE, BLUE };
    int32_t l, k;

    d->chart.title = "Many servers: how long queues are";
    d->chart.subtitle = "Share with at least so many flows; two choices of 500";
    d->chart.x.label = "flows at a server";
    d->chart.x.high = 12;
    d->chart.x.whole = true;
    d->chart.y.logarithmic = true;
    d->chart.y.low = 1e-5;
    d->chart.y.high = 1;
    next_series(d, NULL, GREY);
    for (k = 0; k <= 12; k++) put_point(d, k, pow(0.9, k));
    as_points(next_series(d, "any, load 0.9", GREY));
    for (k = 1; k <= 12; k++) put_point(d, k, choices.random[k]);
    for (l = 0; l < LOADS; l++) {
        next_series(d, NULL, colors[l]);
        for (k = 0; k <= 240; k++) {
            double y = pow(loads[l], pow(2, k / 20.0) - 1);
            if (y >= 1e-5) put_point(d, k / 20.0, y);
        }
        as_points(next_series(d, names[l], colors[l]));
        for (k = 1; k <= 12; k++) {
            if (choices.level[l][k] > 1e-5) put_point(d, k, choices.level[l][k]);
        }
    }
}

static void draw_way(drawing *d)
{
    static const char *const names[] = { "load 0.9", "load 0.99" };
    static const ex_color colors[] = { ORANGE, BLUE };
    ex_series *s;
    int32_t l, i;

    d->chart.title = "From empty: it takes its time at load 0.99";
    d->chart.subtitle = "Flows per server; two choices of 500";
    d->chart.x.label = "mean services since empty";
    d->chart.x.logarithmic = true;
    d->chart.y.from_zero = true;
    for (l = 0; l < LOADS; l++) {
        next_series(d, NULL, colors[l]);
        for (i = 0; i < POINTS; i++) put_point(d, choices.time[l][i], choices.theory[l][i]);
        s = next_series(d, names[l], colors[l]);
        as_points(s);
        s->low = choices.way_low[l];
        s->high = choices.way_high[l];
        for (i = 0; i < POINTS; i++) put_point(d, choices.time[l][i], choices.way[l][i]);
    }
}

static void draw_excess(drawing *d)
{
    static const char *const names[] = { "load 0.9", "load 0.99" };
    static const ex_color colors[] = { ORANGE, BLUE };
    int32_t l, i;

    d->chart.title = "Finitely many servers are worse than the limit";
    d->chart.subtitle = "Flows per server, two choices: above infinitely many";
    d->chart.x.label = "1,000 / servers; 0: infinitely many";
    d->chart.x.high = 4.2;
    d->chart.y.label = "%";
    d->chart.y.from_zero = true;
    for (l = 0; l < LOADS; l++) {
        ex_series *s = next_series(d, names[l], colors[l]);
        static double low[LOADS][SIZES + 1], high[LOADS][SIZES + 1];
        put_point(d, 0, 0);
        for (i = SIZES - 1; i >= 0; i--) {
            double y = 100 * choices.excess[l][i], ci = 100 * choices.excess_ci[l][i];
            put_point(d, 1000.0 / sizes[i], y);
            low[l][SIZES - i] = y - ci;
            high[l][SIZES - i] = y + ci;
        }
        s->low = low[l];
        s->high = high[l];
        s->marker = EX_CIRCLE;
    }
}

static bool draw(void)
{
    static drawing drawn[4];
    static const char note[] = "Lines: theory, but for the last panel. Points: the flow-level world, means "
                               "over the runs; shaded: 95 %.";
    ex_panel panels[4];
    ex_figure figure;
    int32_t i;

    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    draw_longer(&drawn[0]);
    draw_levels(&drawn[1]);
    draw_way(&drawn[2]);
    draw_excess(&drawn[3]);
    for (i = 0; i < 4; i++) panels[i].line = &drawn[i].chart;
    figure.title = "The flow-level world beside queueing theory";
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = 4;
    figure.columns = 2;
    return ex_figure_write(&figure, 1280, 1060, ex_path_join(out, "theory.png").text);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

typedef struct part {
    int32_t group;
    bool (*run)(void);
    double millions; /* of flows, settling included */
} part;

static const part parts[] = {
    { QUEUES, queues_mmc, 52 },   { QUEUES, queues_mg1, 36 }, { QUEUES, queues_bursts, 24 },
    { SHARING, sharing, 64 },     { LOSS, loss, 24 },         { CHOICES, choices_all, 118 },
    { SHORTEST, shortest, 85 },    { FLOWS, conservation, 0.1 },
};

static bool run_all(void)
{
    double millions = 0;
    bool ok = true;
    int32_t i;

    for (i = 0; i < EX_COUNT(parts); i++) {
        if (wanted >> parts[i].group & 1) millions += parts[i].millions;
    }
    ex_progress_start(&bar, "simulating", (int64_t)(millions * 1e6 * length), quiet);
    for (i = 0; ok && i < EX_COUNT(parts); i++) {
        group = parts[i].group;
        stream = 100 * (uint64_t)i; /* the same whatever else is wanted */
        if (wanted >> group & 1) ok = parts[i].run();
    }
    ex_progress_end(&bar, ok ? "%.0f million flows" : NULL, (double)flows_done / 1e6);
    return ok;
}

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    int status = ex_options_parse(&program, argc, argv);
    bool ok;

    if (status != EX_GO_ON) return status;
    if (quick && !ex_option_given(&program, "length")) length = 0.02;
    if (quick && !ex_option_given(&program, "runs")) runs = 10;
    if (!ex_folder_lock(out, &lock)) return EX_FAILED;
    ex_catch_interrupts();
    ok = run_all() && (!choices.there || !longer_there || draw()) && write_rows() && write_results();
    ex_folder_unlock(&lock);
    if (ex_interrupted()) return ex_interrupt_status();
    if (ok && !quiet) {
        print_rows();
        print_summary();
        printf("in %s: results.json theory.csv%s\n", out, choices.there && longer_there ? " theory.png" : "");
    }
    return ok && count_of(DIFFERS) + count_of(UNCLEAR) == 0 ? EX_OK : EX_FAILED;
}
