/* balancer_pictures.c - the balancer and its world in three pictures: what a reservoir remembers, what a pick costs,
   and how the cost of a simulated flow grows

   reservoir_ages.png   How old the samples are that a reservoir keeps, beside the formula for it. The reservoirs are
                        those of the balancer of a flow-level world; a balancer tells means only, so the world runs once
                        for every bar, the same but for its servers, which slow down while the flows of that age are
                        there: the mean of the reservoir says how many of them are left.
   pick_cost.png        From the lines "pick_POLICY_N" of bench_balancer's results: nanoseconds against servers.
   sim_growth.png       From the lines "sim_flows_N_M" of bench_env's: time for a flow against servers, for each number
                        of balancers, beside a line that grows as log n.

   Build:   make build/balancer_pictures
   Run:     make bench; build/balancer_pictures --results out/bench/results.jsonl
   Prints:  how many samples were kept, and how many the formula expects
   Writes:  reservoir_ages.png, reservoir_ages.csv; with --results pick_cost.png and sim_growth.png, as far as there are
            lines for them */

#define RLLB_IMPLEMENTATION
#include "rllb_env.h"

#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BARS = 50, SERVERS_MOST = 100, SIZES_MOST = 16, CURVES_MOST = 40, NAME_MOST = 48 };

#define ORANGE EX_RGB(0xC2500Au)
#define BLUE EX_RGB(0x0063A6u)
#define GREY EX_RGB(0x7B8794u)

static const char *results_path, *out = "out/balancer_pictures";
static uint64_t seed = 1;
static bool quiet;

static ex_option options[] = {
    EX_STRING("results", &results_path, "FILE", "results.jsonl of the benchmarks; without it ages only"),
    EX_SEED("seed", &seed, "of the samples"),
    EX_STRING("out", &out, "DIR", "folder for the pictures"),
    EX_FLAG("quiet", &quiet, "print nothing"),
};

static ex_program program = { .name = "balancer_pictures",
                              .summary = "draws what a reservoir keeps, and what picks and simulated flows cost",
                              .options = options, .option_count = EX_COUNT(options) };

/* ---- what a reservoir remembers ---------------------------------------------------------------------------------- */

/* Flows come at random times, `rate` a second to each of `servers`, for `span_s`; their durations are the samples. Each
   is kept with chance `keep`, in place of one of `slots`. */
typedef struct memory {
    const char *title, *subtitle;
    double rate, keep, span_s;
    int32_t slots, servers;
    double kept[BARS], expected[BARS]; /* samples of that age, a server */
} memory;

/* What is forgotten of a sample in a second, as an exponent: (slots - keep) / slots to the power of rate. */
static double forgetting(const memory *m)
{
    return -m->rate * log(1 - m->keep / m->slots);
}

/* The formula: samples a second of age. */
static double formula(const memory *m, double age_s)
{
    return m->rate * m->keep * exp(-forgetting(m) * age_s);
}

/* Summed over each bar. */
static void expect(memory *m)
{
    double width = m->span_s / BARS;
    int32_t i;

    for (i = 0; i < BARS; i++) {
        m->expected[i] = (formula(m, i * width) - formula(m, (i + 1) * width)) / forgetting(m);
    }
}

/* A flow takes a trillionth of a second, or a millionth while servers are slow: nothing beside their distance. */
#define BRIEF_S 1e-12
#define SLOW_S 1e-6

/* The world in which servers are slow while the flows of bar `bar` come; one tick, at the end. */
static rllb_env_flows_desc bar_world(const memory *m, int32_t bar)
{
    static rllb_env_server_desc servers[SERVERS_MOST];
    static rllb_env_event events[2 * SERVERS_MOST];
    double width = m->span_s / BARS;
    rllb_env_flows_desc d;
    int32_t j;

    memset(servers, 0, sizeof servers);
    memset(events, 0, sizeof events);
    for (j = 0; j < m->servers; j++) {
        rllb_env_event *from = &events[j], *to = &events[m->servers + j];
        servers[j].cpus = 16;
        from->at_s = fmax(0, m->span_s - (bar + 1) * width);
        from->kind = RLLB_ENV_EVENT_SPEED;
        from->server = to->server = j;
        from->value = BRIEF_S / SLOW_S;
        to->at_s = m->span_s - bar * width;
        to->kind = RLLB_ENV_EVENT_BACK;
    }
    rllb_env_flows_desc_default(&d);
    d.balancer.policy = RLLB_BALANCE_ECMP; /* so that each server has arrivals of its own */
    d.balancer.slots = m->slots;
    d.balancer.keep = (float)m->keep;
    d.balancer.empty_as_zero = true; /* so that the mean is over all slots */
    d.servers = servers;
    d.count = m->servers;
    d.rate = m->rate * m->servers;
    d.work_s = BRIEF_S;
    d.law = RLLB_ENV_SAME;
    d.events = events;
    d.event_count = 2 * m->servers;
    d.step_s = m->span_s;
    d.flows_max = 256;
    d.seed = seed;
    return d;
}

static bool measure(memory *m)
{
    int32_t bar, i, observations;

    expect(m);
    for (bar = 0; bar < BARS; bar++) {
        rllb_env_flows_desc desc = bar_world(m, bar);
        rllb_env_flows *w = rllb_env_flows_create(&desc);
        const float *seen;
        if (!w) return ex_fail("not enough memory") == EX_OK;
        rllb_env_flows_run(w, m->span_s);
        seen = rllb_balancer_observe(rllb_env_flows_balancer(w, 0), &observations);
        for (m->kept[bar] = 0, i = 0; i < m->servers; i++) {
            m->kept[bar] += round((double)seen[6 * i + 1] * m->slots / SLOW_S) / m->servers;
        }
        rllb_env_flows_destroy(w);
    }
    return true;
}

static double total(const double *values)
{
    double sum = 0;
    int32_t i;

    for (i = 0; i < BARS; i++) sum += values[i];
    return sum;
}

static bool write_ages(const memory *memories, int32_t count)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i, k;
    bool ok;

    ex_csv_header(&csv, "rate,keep,slots,age_from_s,age_to_s,kept,expected");
    for (k = 0; k < count; k++) {
        const memory *m = &memories[k];
        for (i = 0; i < BARS; i++) {
            ex_csv_double(&csv, m->rate);
            ex_csv_double(&csv, m->keep);
            ex_csv_int(&csv, m->slots);
            ex_csv_double(&csv, m->span_s * i / BARS);
            ex_csv_double(&csv, m->span_s * (i + 1) / BARS);
            ex_csv_double(&csv, m->kept[i]);
            ex_csv_double(&csv, m->expected[i]);
            ex_csv_row(&csv);
        }
    }
    ok = ex_text_write(&text, ex_path_join(out, "reservoir_ages.csv").text);
    ex_text_free(&text);
    return ok;
}

/* Bars are the band under a line of steps. */
typedef struct bars {
    double x[2 * BARS + 2], top[2 * BARS + 2], zero[2 * BARS + 2];
    double age[BARS + 1], formula[BARS + 1], low[BARS + 1], high[BARS + 1]; /* at the borders of the bars */
    ex_series series[2];
    ex_line_chart chart;
} bars;

static void draw_memory(bars *s, const memory *m)
{
    double width = m->span_s / BARS;
    int32_t i;

    memset(s, 0, sizeof *s);
    s->x[0] = 0;
    s->x[2 * BARS + 1] = m->span_s;
    for (i = 0; i < BARS; i++) {
        s->x[2 * i + 1] = i * width;
        s->x[2 * i + 2] = (i + 1) * width;
        s->top[2 * i + 1] = s->top[2 * i + 2] = m->kept[i] / width;
    }
    for (i = 0; i <= BARS; i++) { /* counts of rare events: their variance is their mean */
        double spread = 1.96 * sqrt(formula(m, i * width) * width / m->servers) / width;
        s->age[i] = i * width;
        s->formula[i] = formula(m, i * width);
        s->low[i] = fmax(s->formula[i] - spread, 0);
        s->high[i] = s->formula[i] + spread;
    }
    s->series[0].name = "samples kept, a second of age";
    s->series[0].x = s->x;
    s->series[0].y = s->series[0].high = s->top;
    s->series[0].low = s->zero;
    s->series[0].count = 2 * BARS + 2;
    s->series[0].color = BLUE;
    s->series[0].width = 1;
    s->series[1].name = "formula";
    s->series[1].x = s->age;
    s->series[1].y = s->formula;
    s->series[1].low = s->low;
    s->series[1].high = s->high;
    s->series[1].count = BARS + 1;
    s->series[1].color = ORANGE;
    s->series[1].width = 3;
    s->chart.title = m->title;
    s->chart.subtitle = m->subtitle;
    s->chart.x.label = "age, seconds";
    s->chart.y.from_zero = true;
    s->chart.series = s->series;
    s->chart.series_count = 2;
}

static bool picture_ages(void)
{
    static memory memories[2] = {
        { .title = "The published example: ten minutes, nearly alike",
          .subtitle = "K = 10,000 slots, chance p = 0.05; one server, 50,000 flows",
          .rate = 80, .keep = 0.05, .span_s = 625, .slots = 10000, .servers = 1 },
        { .title = "The balancer's default: the last seconds",
          .subtitle = "K = 128 slots, every sample taken (p = 1); mean of 100 servers",
          .rate = 80, .keep = 1, .span_s = 10, .slots = 128, .servers = 100 },
    };
    static bars drawn[2];
    ex_panel panels[2];
    ex_figure figure;
    int32_t i;

    memset(panels, 0, sizeof panels);
    memset(&figure, 0, sizeof figure);
    for (i = 0; i < 2; i++) {
        if (!measure(&memories[i])) return false;
        draw_memory(&drawn[i], &memories[i]);
        panels[i].line = &drawn[i].chart;
        if (!quiet) {
            printf("%5d slots, chance %.2f: %.1f samples kept, the formula expects %.1f\n", (int)memories[i].slots,
                   memories[i].keep, total(memories[i].kept), total(memories[i].expected));
        }
    }
    figure.title = "How old the samples in a reservoir are";
    figure.subtitle = "Of the balancer of a flow-level world: 80 flows a second end at a server; each one kept takes "
                      "the place of another at random";
    figure.note = "Formula: rate p ((K - p) / K)^(rate age) samples a second of age (Yao, Ding and Clausen, CIKM'22; "
                  "left: its Figure 5). Shaded: where 19 of 20 bars should end.";
    figure.panels = panels;
    figure.panel_count = 2;
    figure.columns = 2;
    return ex_figure_write(&figure, 1200, 580, ex_path_join(out, "reservoir_ages.png").text) &&
           write_ages(memories, 2);
}

/* ---- what a pick costs ------------------------------------------------------------------------------------------- */

typedef struct curve {
    char name[NAME_MOST];
    double n[SIZES_MOST], ns[SIZES_MOST];
    int32_t count;
    bool grows, imagined; /* imagined: needs to see what no balancer sees */
    double place;         /* of its name */
} curve;

typedef struct costs {
    curve curves[CURVES_MOST];
    int32_t count;
} costs;

static curve *find_curve(costs *c, const char *name, size_t length)
{
    int32_t i;

    for (i = 0; i < c->count; i++) {
        if (strlen(c->curves[i].name) == length && strncmp(c->curves[i].name, name, length) == 0) return &c->curves[i];
    }
    if (c->count == CURVES_MOST || length >= NAME_MOST) return NULL;
    memcpy(c->curves[c->count].name, name, length);
    return &c->curves[c->count++];
}

/* Of several lines with the same job the last one counts. */
static void put_cost(curve *to, double n, double ns)
{
    int32_t i;

    for (i = 0; i < to->count && to->n[i] < n; i++) {}
    if (i == to->count || to->n[i] > n) {
        if (to->count == SIZES_MOST) return;
        memmove(&to->n[i + 1], &to->n[i], (size_t)(to->count - i) * sizeof *to->n);
        memmove(&to->ns[i + 1], &to->ns[i], (size_t)(to->count - i) * sizeof *to->ns);
        to->count++;
    }
    to->n[i] = n;
    to->ns[i] = ns;
}

static void take_pick(costs *c, const char *line)
{
    static const char head[] = "{\"job\":\"pick_";
    const char *name = line + sizeof head - 1, *end, *digits, *value;
    double n, ns;
    curve *to;

    if (strncmp(line, head, sizeof head - 1) != 0) return;
    end = strchr(name, '"');
    value = strstr(line, "\"value\":");
    if (!end || !value) return;
    for (digits = end; digits > name && digits[-1] >= '0' && digits[-1] <= '9';) digits--;
    n = digits < end ? strtod(digits, NULL) : 0;
    ns = strtod(value + 8, NULL);
    if (digits - name < 2 || digits[-1] != '_' || !(n >= 1) || !(ns > 0)) return; /* _w2: other workers */
    to = find_curve(c, name, (size_t)(digits - 1 - name));
    if (to) put_cost(to, n, ns);
}

/* A curve for every number of balancers. */
static void take_growth(costs *g, const char *line)
{
    static const char head[] = "{\"job\":\"sim_flows_";
    const char *value = strstr(line, "\"value\":");
    char *end, *name, *last;
    double n, m, flows;
    curve *to;

    if (strncmp(line, head, sizeof head - 1) != 0 || !value) return;
    n = strtod(line + sizeof head - 1, &end);
    if (*end != '_') return;
    name = end + 1;
    m = strtod(name, &last);
    flows = strtod(value + 8, NULL);
    if (*last != '"' || !(n >= 1) || !(m >= 1) || !(flows > 0)) return;
    to = find_curve(g, name, (size_t)(last - name));
    if (to) put_cost(to, n, 1e9 / flows);
}

static bool read_costs(costs *c, costs *g)
{
    ex_text text = { 0 };
    const char *line;
    int32_t i;

    if (!ex_file_read(results_path, (size_t)1 << 26, &text)) return false;
    for (line = text.data; line && *line;) {
        const char *next = strchr(line, '\n');
        take_pick(c, line);
        take_growth(g, line);
        line = next ? next + 1 : NULL;
    }
    ex_text_free(&text);
    if (c->count + g->count == 0) {
        return ex_fail("%s: no line of a job pick_POLICY_N or sim_flows_N_M", results_path) == EX_OK;
    }
    for (i = 0; i < c->count; i++) {
        curve *u = &c->curves[i];
        int32_t last = u->count - 1;
        /* Twice the servers, more than 1.15 times the cost, from first to last. */
        u->grows = last > 0 && log(u->ns[last] / u->ns[0]) > 0.2 * log(u->n[last] / u->n[0]);
        u->imagined = strcmp(u->name, "gsq") == 0 || strcmp(u->name, "srt") == 0 || strcmp(u->name, "sed_oracle") == 0;
    }
    return true;
}

static ex_color color_of(const curve *u)
{
    return u->imagined ? GREY : u->grows ? ORANGE : BLUE;
}

/* The plot on the canvas, both scales logarithmic. */
typedef struct plane {
    ex_canvas *c;
    ex_rect r;
    double n_low, n_high, ns_low, ns_high;
} plane;

static double across(const plane *p, double n)
{
    return p->r.x + p->r.width * log(n / p->n_low) / log(p->n_high / p->n_low);
}

static double down(const plane *p, double ns)
{
    return p->r.y + p->r.height * (1 - log(ns / p->ns_low) / log(p->ns_high / p->ns_low));
}

/* The axis, with the numbers of the longest curve. */
static void draw_servers(const plane *p, const costs *c)
{
    double bottom = p->r.y + p->r.height;
    const curve *longest = &c->curves[0];
    char text[32];
    int32_t i;

    ex_draw_line(p->c, p->r.x, bottom, p->r.x + p->r.width, bottom, 1.25, EX_AXIS);
    for (i = 0; i < c->count; i++) {
        if (c->curves[i].count > longest->count) longest = &c->curves[i];
    }
    for (i = 0; i < longest->count; i++) {
        double x = across(p, longest->n[i]);
        ex_draw_line(p->c, x, bottom + 1, x, bottom + 6, 1.25, EX_AXIS);
        snprintf(text, sizeof text, "%.0f", longest->n[i]);
        ex_draw_text(p->c, x, bottom + 12, 16, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED, text);
    }
    ex_draw_text(p->c, p->r.x + p->r.width / 2, bottom + 40, 16, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED, "servers");
}

static void draw_grid(const plane *p, const costs *c)
{
    static const char *const names[] = { "1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms" };
    double ns;
    int32_t i, k;

    for (i = 0, ns = 1; ns <= p->ns_high * 1.001; i++, ns *= 10) {
        if (ns < p->ns_low * 0.999) continue;
        ex_draw_line(p->c, p->r.x, down(p, ns), p->r.x + p->r.width, down(p, ns), 1, EX_GRID);
        ex_draw_text(p->c, p->r.x - 12, down(p, ns), 16, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED,
                     names[i < EX_COUNT(names) ? i : EX_COUNT(names) - 1]);
        for (k = 2; k < 10 && ns * k < p->ns_high; k++) {
            ex_draw_line(p->c, p->r.x - 5, down(p, ns * k), p->r.x - 1, down(p, ns * k), 1, EX_AXIS);
        }
    }
    draw_servers(p, c);
}

static int by_place(const void *a, const void *b)
{
    const curve *x = *(const curve *const *)a, *y = *(const curve *const *)b;
    return (x->place > y->place) - (x->place < y->place);
}

/* Moves names apart by as little as can be: neighbours that would overlap form a block about their common middle. */
static void spread(curve **order, int32_t count, double apart, double top, double bottom)
{
    double middle[CURVES_MOST];
    int32_t size[CURVES_MOST], blocks = 0, i, k, at;

    for (i = 0; i < count; i++) {
        middle[blocks] = order[i]->place;
        size[blocks++] = 1;
        for (;;) {
            double half = (size[blocks - 1] - 1) * apart / 2, m = middle[blocks - 1];
            if (m - half < top) middle[blocks - 1] = top + half;
            else if (m + half > bottom) middle[blocks - 1] = bottom - half;
            if (blocks < 2) break;
            if (middle[blocks - 1] - middle[blocks - 2] >= (size[blocks - 1] + size[blocks - 2]) * apart / 2) break;
            middle[blocks - 2] = (middle[blocks - 2] * size[blocks - 2] + middle[blocks - 1] * size[blocks - 1]) /
                                 (size[blocks - 2] + size[blocks - 1]);
            size[blocks - 2] += size[blocks - 1];
            blocks--;
        }
    }
    for (i = 0, at = 0; i < blocks; i++) {
        for (k = 0; k < size[i]; k++) order[at++]->place = middle[i] + (k - (size[i] - 1) / 2.0) * apart;
    }
}

/* What was published for a learned policy: Figure 11 of Yao, Ding and Clausen, CIKM'22, and the text beside it. */
static void draw_published(const plane *p)
{
    static const double ns = 4326.27 / 2.6;
    ex_point line[2];

    if (ns > p->ns_high) return;
    line[0].x = p->r.x;
    line[1].x = p->r.x + p->r.width;
    line[0].y = line[1].y = down(p, ns);
    ex_draw_polyline(p->c, line, 2, 1.5, EX_DOTTED, EX_MUTED);
    ex_draw_text(p->c, p->r.x + 8, line[0].y - 9, 15.5, EX_REGULAR, EX_LEFT, EX_MUTED,
                 "published for RLB-QMIX: 1.66 µs a flow, all that is done for it (4,326 cycles, 2.6 GHz)");
}

static void draw_curves(const plane *p, costs *c)
{
    double x = p->r.x + p->r.width;
    curve *order[CURVES_MOST];
    ex_point line[SIZES_MOST];
    int32_t i, k;

    for (i = 0; i < c->count; i++) {
        curve *u = &c->curves[i];
        for (k = 0; k < u->count; k++) {
            line[k].x = across(p, u->n[k]);
            line[k].y = down(p, u->ns[k]);
        }
        ex_draw_polyline(p->c, line, u->count, 2, u->imagined ? EX_DASHED : EX_SOLID, ex_alpha(color_of(u), 0.75));
        for (k = 0; k < u->count; k++) ex_draw_circle(p->c, line[k].x, line[k].y, 2.6, color_of(u));
        u->place = line[u->count - 1].y;
        order[i] = u;
    }
    qsort(order, (size_t)c->count, sizeof *order, by_place);
    spread(order, c->count, 19, p->r.y, p->r.y + p->r.height);
    for (i = 0; i < c->count; i++) {
        const curve *u = order[i];
        char name[NAME_MOST + 32];
        double end = down(p, u->ns[u->count - 1]);
        snprintf(name, sizeof name, "%s", u->name);
        line[0].x = across(p, u->n[u->count - 1]) + 6;
        line[1].x = x + 30;
        line[2].x = x + 36;
        line[0].y = end;
        line[1].y = line[2].y = u->place;
        ex_draw_polyline(p->c, line, 3, 1, EX_SOLID, ex_alpha(color_of(u), 0.35));
        ex_draw_text(p->c, x + 42, u->place, 15.5, EX_REGULAR, EX_LEFT | EX_MIDDLE, color_of(u), name);
    }
}

static double draw_words(ex_canvas *c, double x, double y, ex_weight weight, ex_color color, const char *words)
{
    ex_draw_text(c, x, y, 18, weight, EX_LEFT | EX_TOP, color, words);
    return x + ex_text_width(18, weight, words);
}

/* Both scales in range of all curves. */
static bool fit(plane *p, const costs *c)
{
    int32_t i, k;

    p->n_low = p->ns_low = 1e300;
    p->n_high = p->ns_high = 0;
    for (i = 0; i < c->count; i++) {
        for (k = 0; k < c->curves[i].count; k++) {
            p->ns_low = fmin(p->ns_low, c->curves[i].ns[k]);
            p->ns_high = fmax(p->ns_high, c->curves[i].ns[k]);
            p->n_low = fmin(p->n_low, c->curves[i].n[k]);
            p->n_high = fmax(p->n_high, c->curves[i].n[k]);
        }
    }
    return p->n_high > p->n_low || ex_fail("%s: one number of servers only", results_path) == EX_OK;
}

static bool picture_costs(costs *c)
{
    plane p = { NULL, { 96, 118, 868, 590 }, 3, 4096, 5, 1e5 };
    ex_canvas canvas;
    double x;
    bool ok;

    if (!fit(&p, c)) return false;
    p.ns_low = fmin(p.ns_low * 0.8, 5);
    p.ns_high *= 1.3;
    if (!ex_canvas_create(&canvas, 1200, 800)) return false;
    p.c = &canvas;
    ex_draw_text(&canvas, 36, 36, 28, EX_BOLD, EX_LEFT | EX_TOP, EX_INK, "What a pick costs, and for how many servers");
    x = draw_words(&canvas, 36, 74, EX_REGULAR, EX_MUTED, "Policies that cost ");
    x = draw_words(&canvas, x, 74, EX_BOLD, BLUE, "much the same at any number of servers");
    x = draw_words(&canvas, x, 74, EX_REGULAR, EX_MUTED, ", that ");
    x = draw_words(&canvas, x, 74, EX_BOLD, ORANGE, "look at every one of them");
    x = draw_words(&canvas, x, 74, EX_REGULAR, EX_MUTED, ", and ");
    draw_words(&canvas, x, 74, EX_BOLD, GREY, "oracles for simulators");
    draw_grid(&p, c);
    draw_published(&p);
    draw_curves(&p, c);
    ok = ex_canvas_write_png(&canvas, ex_path_join(out, "pick_cost.png").text);
    ex_canvas_free(&canvas);
    return ok;
}

/* ---- how the cost of a flow grows -------------------------------------------------------------------------------- */

static int by_balancers(const void *a, const void *b)
{
    double x = strtod(((const curve *)a)->name, NULL), y = strtod(((const curve *)b)->name, NULL);
    return (x > y) - (x < y);
}

/* Where each number of balancers has one number of servers: one curve, both growing. */
static void join_curves(costs *g)
{
    int32_t i;

    for (i = 0; i < g->count; i++) {
        if (g->curves[i].count > 1) return;
    }
    for (i = 1; i < g->count; i++) put_cost(&g->curves[0], g->curves[i].n[0], g->curves[i].ns[0]);
    snprintf(g->curves[0].name, sizeof g->curves[0].name, "%.0f ... %.0f", strtod(g->curves[0].name, NULL),
             strtod(g->curves[g->count - 1].name, NULL));
    g->count = 1;
}

static double height(const plane *p, double ns)
{
    return p->r.y + p->r.height * (1 - ns / p->ns_high);
}

/* From the first point of a curve on: what growth as log n would come to. */
static double log_end(const plane *p, const curve *u)
{
    return u->ns[0] * log(p->n_high) / log(fmax(u->n[0], 2));
}

static ex_color growth_color(const costs *g, int32_t i)
{
    return ex_ramp(g->count > 1 ? 0.75 * i / (g->count - 1) : 0.3);
}

static void draw_log_lines(const plane *p, const costs *g)
{
    ex_point line[2];
    int32_t i;

    for (i = 0; i < g->count; i++) {
        const curve *u = &g->curves[i];
        if (u->count < 2) continue;
        line[0].x = across(p, u->n[0]);
        line[0].y = height(p, u->ns[0]);
        line[1].x = across(p, p->n_high);
        line[1].y = height(p, log_end(p, u));
        ex_draw_polyline(p->c, line, 2, 1.5, EX_DASHED, ex_alpha(growth_color(g, i), 0.6));
    }
}

static void draw_growth(const plane *p, costs *g)
{
    curve *order[CURVES_MOST];
    ex_point line[SIZES_MOST];
    char name[NAME_MOST + 32];
    int32_t i, k;

    for (i = 0; i < g->count; i++) {
        curve *u = &g->curves[i];
        ex_color color = growth_color(g, i);
        for (k = 0; k < u->count; k++) {
            line[k].x = across(p, u->n[k]);
            line[k].y = height(p, u->ns[k]);
        }
        ex_draw_polyline(p->c, line, u->count, 2.5, EX_SOLID, color);
        for (k = 0; k < u->count; k++) ex_draw_circle(p->c, line[k].x, line[k].y, 4, color);
        u->place = line[u->count - 1].y;
        order[i] = u;
    }
    qsort(order, (size_t)g->count, sizeof *order, by_place);
    spread(order, g->count, 21, p->r.y, p->r.y + p->r.height);
    for (i = 0; i < g->count; i++) {
        int32_t rank = (int32_t)(order[i] - g->curves), last = order[i]->count - 1;
        snprintf(name, sizeof name, "%s balancer%s", order[i]->name, strcmp(order[i]->name, "1") == 0 ? "" : "s");
        ex_draw_text(p->c, across(p, order[i]->n[last]) + 14, order[i]->place, 16, EX_REGULAR, EX_LEFT | EX_MIDDLE,
                     growth_color(g, rank), name);
    }
}

static void draw_growth_grid(const plane *p, const costs *g)
{
    double ticks[EX_TICKS_MAX], step;
    int32_t i, count = ex_ticks(0, p->ns_high, 6, true, ticks, &step);
    char text[32];

    for (i = 0; i < count; i++) {
        double y = height(p, ticks[i]);
        ex_draw_line(p->c, p->r.x, y, p->r.x + p->r.width, y, 1, EX_GRID);
        ex_draw_text(p->c, p->r.x - 12, y, 16, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED,
                     ex_tick_text(ticks[i], step, text));
    }
    draw_servers(p, g);
}

static bool picture_growth(costs *g)
{
    plane p = { NULL, { 96, 118, 900, 500 }, 16, 1024, 0, 1000 };
    ex_canvas canvas;
    int32_t i;
    bool ok;

    qsort(g->curves, (size_t)g->count, sizeof *g->curves, by_balancers);
    join_curves(g);
    if (!fit(&p, g)) return false;
    for (i = 0; i < g->count; i++) {
        if (g->curves[i].count > 1) p.ns_high = fmax(p.ns_high, log_end(&p, &g->curves[i]));
    }
    p.ns_high *= 1.05;
    if (!ex_canvas_create(&canvas, 1200, 720)) return false;
    p.c = &canvas;
    ex_draw_text(&canvas, 36, 36, 28, EX_BOLD, EX_LEFT | EX_TOP, EX_INK,
                 "What a flow costs to simulate, by servers and balancers");
    draw_words(&canvas, 36, 74, EX_REGULAR, EX_MUTED,
               "Nanoseconds a flow on one core. Dashed: what each curve would come to if it grew as log n");
    draw_growth_grid(&p, g);
    draw_log_lines(&p, g);
    draw_growth(&p, g);
    ok = ex_canvas_write_png(&canvas, ex_path_join(out, "sim_growth.png").text);
    ex_canvas_free(&canvas);
    return ok;
}

static bool picture_results(bool *picks, bool *growth)
{
    static costs c, g;

    if (!results_path) return true;
    if (!read_costs(&c, &g)) return false;
    *picks = c.count > 0;
    *growth = g.count > 0;
    return (!*picks || picture_costs(&c)) && (!*growth || picture_growth(&g));
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    int status = ex_options_parse(&program, argc, argv);
    bool picks = false, growth = false, ok;

    if (status != EX_GO_ON) return status;
    if (!ex_folder_lock(out, &lock)) return EX_FAILED;
    ok = picture_results(&picks, &growth) && picture_ages();
    if (ok && !quiet) {
        printf("in %s: reservoir_ages.png reservoir_ages.csv%s%s\n", out, picks ? " pick_cost.png" : "",
               growth ? " sim_growth.png" : "");
    }
    ex_folder_unlock(&lock);
    return ok ? EX_OK : EX_FAILED;
}
