/* pictures.c - what the experiment draws; see experiment.h */

#include "experiment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PANELS = 4, LINES = LAB_SERVERS, POINTS = 1024, ROOM = 1 << 18 };

static double room[ROOM];
static int32_t room_used;

static double *numbers(int32_t count)
{
    double *at = room + room_used;

    if (room_used + count > ROOM) return NULL;
    room_used += count;
    return at;
}

typedef struct panel {
    ex_series series[LINES];
    ex_line_chart line;
    ex_bar_chart bar;
    ex_box_chart box;
    const char *names[LINES], *groups[LINES];
    ex_color colors[LINES];
    const double *values[LINES];
    int32_t counts[LINES];
    char words[LAB_SERVERS][24], title[64];
} panel;

static panel panels[6];

/* The scenes that the published pictures are made of: the published servers, or else what there is. */
static int32_t shown_scenes(const lab *l, int32_t out[PANELS])
{
    int32_t s, count = 0;
    bool three = lab_ran(l, LAB_THREE);

    for (s = 0; s < l->scenes && count < PANELS; s++) {
        if (l->scene[s].wanted && (!three || l->scene[s].part == LAB_THREE)) out[count++] = s;
    }
    return count;
}

/* Controls are not drawn. */
static int32_t shown_policies(const lab *l, int32_t s, int32_t out[LINES])
{
    int32_t p, count = 0;

    for (p = 0; p < l->policies && count < LINES; p++) {
        if (lab_has(&l->scene[s], p) && l->policy[p].again < 0) out[count++] = p;
    }
    return count;
}

static bool figure(const lab *l, const char *title, const char *note, int32_t count, char kind, const char *file)
{
    ex_panel list[6];
    ex_figure f;
    int32_t i;
    bool wide = count > 4;

    memset(list, 0, sizeof list);
    memset(&f, 0, sizeof f);
    for (i = 0; i < count; i++) {
        list[i].line = kind == 'l' ? &panels[i].line : NULL;
        list[i].bar = kind == 'b' ? &panels[i].bar : NULL;
        list[i].box = kind == 'x' ? &panels[i].box : NULL;
    }
    f.title = title;
    f.note = note;
    f.panels = list;
    f.panel_count = count;
    f.columns = wide ? 3 : count > 1 ? 2 : 1;
    return ex_figure_write(&f, wide ? 1600 : 1440, count > 2 ? 1040 : 640, ex_path_join(l->out, file).text);
}

/* Values of seconds, meant over repeats and over `span` of them. */
static int32_t over_time(const lab *l, int32_t s, int32_t p, bool done, int32_t span, double *x, double *y)
{
    int32_t i, b, bins = POINTS * span, points;

    for (i = 0; i < l->repeats; i++) {
        const lab_run *r = lab_run_of(l, s, p, i);
        if (r->bins < bins) bins = r->bins;
    }
    points = bins / span;
    for (b = 0; b < points; b++) {
        double sum = 0;
        int32_t there = 0, k;
        for (i = 0; i < l->repeats; i++) {
            const lab_run *r = lab_run_of(l, s, p, i);
            for (k = b * span; k < (b + 1) * span; k++) {
                double v = (double)(done ? r->bin_done[k] : r->bin_mean[k]);
                if (!isfinite(v)) continue;
                sum += v;
                there++;
            }
        }
        x[b] = (b + 0.5) * span;
        y[b] = there > 0 ? sum / there : (double)NAN;
    }
    return points;
}

static int32_t span_of(const lab *l, int32_t s)
{
    int32_t p = lab_first(l, s), bins = lab_run_of(l, s, p, 0)->bins;
    return bins > 100 ? bins / 50 : 1;
}

static bool draw_over_time(const lab *l, bool done)
{
    int32_t scenes[PANELS], which[LINES], count = shown_scenes(l, scenes), i, k;

    memset(panels, 0, sizeof panels);
    room_used = 0;
    for (i = 0; i < count; i++) {
        panel *a = &panels[i];
        int32_t s = scenes[i], lines = shown_policies(l, s, which), span = span_of(l, s);
        double most = 0, least = HUGE_VAL;
        for (k = 0; k < lines; k++) {
            double *x = numbers(POINTS), *y = numbers(POINTS);
            int32_t b;
            if (!x || !y) return ex_fail("not enough room for a picture") == EX_OK;
            a->series[k].name = l->policy[which[k]].name;
            a->series[k].x = x;
            a->series[k].y = y;
            a->series[k].count = over_time(l, s, which[k], done, span, x, y);
            a->series[k].color = ex_palette(l->policy[which[k]].color);
            for (b = 0; b < a->series[k].count; b++) {
                if (y[b] > most) most = y[b];
                if (y[b] > 0 && y[b] < least) least = y[b];
            }
        }
        a->line.title = l->scene[s].title;
        a->line.x.label = "time, s";
        a->line.y.label = done ? "answered well per second" : "mean latency, ms";
        a->line.y.from_zero = true;
        a->line.y.logarithmic = !done && most > 20 * least;
        a->line.series = a->series;
        a->line.series_count = lines;
    }
    return figure(l, done ? "Throughput over time" : "Latency over time",
                  "Means over the repeats; learning included. Requests count where they were due.", count, 'l',
                  done ? "throughput_comparison.png" : "latency_over_time.png");
}

static bool draw_utilisation(const lab *l)
{
    int32_t scenes[PANELS], which[LINES], count = shown_scenes(l, scenes), i, k, v;

    memset(panels, 0, sizeof panels);
    room_used = 0;
    for (i = 0; i < count; i++) {
        panel *a = &panels[i];
        const lab_scene *s = &l->scene[scenes[i]];
        int32_t lines = shown_policies(l, scenes[i], which);
        double *values = numbers(s->servers * lines);
        if (!values) return ex_fail("not enough room for a picture") == EX_OK;
        for (v = 0; v < s->servers; v++) {
            if (s->server[v].delay_ms > 0) {
                snprintf(a->words[v], sizeof a->words[v], "%g ms", s->server[v].block_ms + s->server[v].delay_ms);
            }
            else snprintf(a->words[v], sizeof a->words[v], "s%d", (int)v);
            a->names[v] = a->words[v];
            for (k = 0; k < lines; k++) values[v * lines + k] = 100 * lab_share(l, scenes[i], which[k], v).mean;
        }
        for (k = 0; k < lines; k++) {
            a->groups[k] = l->policy[which[k]].name;
            a->colors[k] = ex_palette(l->policy[which[k]].color);
        }
        a->bar.title = s->title;
        a->bar.y.label = "share of the requests, %";
        a->bar.categories = a->names;
        a->bar.category_count = s->servers;
        a->bar.groups = a->groups;
        a->bar.group_count = lines;
        a->bar.values = values;
        a->bar.colors = a->colors;
        a->bar.value_format = s->servers <= 3 ? "%.0f" : "";
    }
    return figure(l, "Which servers are used", "Mean over the repeats, after the learning.", count, 'b',
                  "server_utilization.png");
}

static bool draw_curves(const lab *l)
{
    int32_t scenes[PANELS], which[LINES], count = shown_scenes(l, scenes), i, k, b, r;
    char note[160];

    memset(panels, 0, sizeof panels);
    room_used = 0;
    for (i = 0; i < count; i++) {
        panel *a = &panels[i];
        const lab_scene *s = &l->scene[scenes[i]];
        int32_t lines = shown_policies(l, scenes[i], which);
        double all = s->requests > 0 ? s->learn + s->requests : s->rate * s->total_s;
        for (k = 0; k < lines; k++) {
            double *x = numbers(LAB_CURVE), *y = numbers(LAB_CURVE);
            double *low = numbers(LAB_CURVE), *high = numbers(LAB_CURVE);
            if (!x || !y || !low || !high) return ex_fail("not enough room for a picture") == EX_OK;
            for (b = 0; b < LAB_CURVE; b++) {
                double v[LAB_REPEATS], sd;
                for (r = 0; r < l->repeats; r++) v[r] = (double)lab_run_of(l, scenes[i], which[k], r)->curve[b];
                sd = l->repeats > 1 ? ex_tail_sd(v, l->repeats, l->repeats) : 0;
                x[b] = all * (b + 0.5) / LAB_CURVE;
                y[b] = ex_mean(v, l->repeats);
                low[b] = y[b] - sd;
                high[b] = y[b] + sd;
            }
            a->series[k].name = l->policy[which[k]].name;
            a->series[k].x = x;
            a->series[k].y = y;
            a->series[k].low = low;
            a->series[k].high = high;
            a->series[k].count = LAB_CURVE;
            a->series[k].color = ex_palette(l->policy[which[k]].color);
        }
        a->line.title = s->title;
        a->line.x.label = "requests";
        a->line.y.label = "mean latency, ms";
        a->line.y.from_zero = true;
        a->line.series = a->series;
        a->line.series_count = lines;
    }
    snprintf(note, sizeof note, "Means of a fortieth of the run each; band: one standard deviation between repeats.");
    return figure(l, "Learning", note, count, 'l', "learning_curve.png");
}

static bool draw_boxes(const lab *l)
{
    int32_t scenes[PANELS], which[LINES], count = shown_scenes(l, scenes), i, k, b, r;

    memset(panels, 0, sizeof panels);
    room_used = 0;
    for (i = 0; i < count; i++) {
        panel *a = &panels[i];
        int32_t lines = shown_policies(l, scenes[i], which);
        double least = HUGE_VAL, most = 0;
        for (k = 0; k < lines; k++) {
            double *q = numbers(LAB_QUANTILES);
            if (!q) return ex_fail("not enough room for a picture") == EX_OK;
            for (b = 0; b < LAB_QUANTILES; b++) {
                q[b] = 0;
                for (r = 0; r < l->repeats; r++) {
                    q[b] += (double)lab_run_of(l, scenes[i], which[k], r)->quantile[b] / l->repeats;
                }
            }
            if (q[LAB_QUANTILES - 1] > most) most = q[LAB_QUANTILES - 1];
            if (q[LAB_QUANTILES / 2] < least) least = q[LAB_QUANTILES / 2];
            a->values[k] = q;
            a->counts[k] = LAB_QUANTILES;
            a->names[k] = l->policy[which[k]].name;
            a->colors[k] = ex_palette(l->policy[which[k]].color);
        }
        a->box.title = l->scene[scenes[i]].title;
        a->box.y.label = "latency, ms";
        a->box.y.from_zero = true;
        a->box.y.logarithmic = most > 20 * least;
        a->box.categories = a->names;
        a->box.values = a->values;
        a->box.counts = a->counts;
        a->box.category_count = lines;
        a->box.colors = a->colors;
    }
    return figure(l, "How latencies are spread", "Quantiles in steps of half a percent, means over the repeats, after "
                  "the learning. Dot: mean of these.", count, 'x', "latency_distribution.png");
}

static bool any(const double *values, int32_t count)
{
    int32_t i;

    for (i = 0; i < count; i++) {
        if (values[i] > 0) return true;
    }
    return false;
}

static bool draw_summary(const lab *l)
{
    static const struct {
        lab_key key;
        const char *title, *format;
    } shown[] = {
        { LAB_MEAN, "Mean latency, ms", "%.1f" },
        { LAB_P95, "P95, ms", "%.0f" },
        { LAB_P99, "P99, ms", "%.0f" },
        { LAB_THROUGHPUT, "Answered well per second", "%.2f" },
        { LAB_LOST, "Lost requests, %", "%.2f" },
        { LAB_CV, "Coefficient of variation", "%.2f" },
    };
    int32_t scenes[PANELS], which[LINES], i, k, s, lines;
    char title[160];

    memset(panels, 0, sizeof panels);
    room_used = 0;
    if (shown_scenes(l, scenes) < 1) return true;
    s = scenes[0];
    lines = shown_policies(l, s, which);
    for (i = 0; i < EX_COUNT(shown); i++) {
        panel *a = &panels[i];
        double *values = numbers(lines), *errors = numbers(lines);
        if (!values || !errors) return ex_fail("not enough room for a picture") == EX_OK;
        for (k = 0; k < lines; k++) {
            ex_estimate e = lab_estimate(l, s, which[k], shown[i].key);
            values[k] = e.mean;
            errors[k] = isfinite(e.high) ? (e.high - e.low) / 2 : 0;
            a->names[k] = l->policy[which[k]].name;
            a->colors[k] = ex_palette(l->policy[which[k]].color);
        }
        a->bar.title = shown[i].title;
        a->bar.categories = a->names;
        a->bar.category_count = lines;
        a->bar.group_count = 1;
        a->bar.values = values;
        a->bar.errors = errors;
        a->bar.category_colors = a->colors;
        a->bar.value_format = shown[i].format;
        if (shown[i].key == LAB_LOST && !any(values, lines)) a->bar.y.high = 1;
    }
    snprintf(title, sizeof title, "Summary: %s", l->scene[s].title);
    return figure(l, title, l->repeats > 1 ? "With 95 % intervals over the repeats; after the learning."
                                           : "One repeat; after the learning.", EX_COUNT(shown), 'b',
                  "comparison_summary.png");
}

/* Shares of the server that the scene is about. */
static bool share_panel(const lab *l, panel *a, int32_t s, int32_t server, const char *title)
{
    int32_t which[LINES], lines = shown_policies(l, s, which), k, b;

    for (k = 0; k < lines; k++) {
        double *x = numbers(POINTS), *y = numbers(POINTS);
        if (!x || !y) return ex_fail("not enough room for a picture") == EX_OK;
        a->series[k].name = l->policy[which[k]].name;
        a->series[k].count = lab_share_series(l, s, which[k], server, y, POINTS);
        for (b = 0; b < a->series[k].count; b++) {
            x[b] = b + 0.5;
            y[b] *= 100;
        }
        a->series[k].x = x;
        a->series[k].y = y;
        a->series[k].color = ex_palette(l->policy[which[k]].color);
    }
    a->line.title = title;
    a->line.x.label = "time, s";
    a->line.y.label = "share of the requests, %";
    a->line.y.from_zero = true;
    a->line.series = a->series;
    a->line.series_count = lines;
    return true;
}

static bool window_panel(const lab *l, panel *a, int32_t s)
{
    int32_t which[LINES], lines = shown_policies(l, s, which), base = lab_role_of(l, s, LAB_BASE), k, w, used = 0;
    int32_t windows = lab_windows(l, s);

    for (k = 0; k < lines && base >= 0; k++) {
        double *x, *y, *low, *high, worst = 0;
        if (which[k] == base) continue;
        x = numbers(windows);
        y = numbers(windows);
        low = numbers(windows);
        high = numbers(windows);
        if (!x || !y || !low || !high) return ex_fail("not enough room for a picture") == EX_OK;
        for (w = 0; w < windows; w++) {
            ex_estimate e = lab_window_above(l, s, which[k], base, w);
            x[w] = (w + 0.5) * LAB_WINDOW_S;
            y[w] = e.mean;
            low[w] = isfinite(e.low) ? e.low : e.mean;
            high[w] = isfinite(e.high) ? e.high : e.mean;
            if (e.mean > worst) worst = e.mean;
        }
        if (worst > 100) continue; /* round robin would leave no room for the others */
        a->series[used].name = l->policy[which[k]].name;
        a->series[used].x = x;
        a->series[used].y = y;
        a->series[used].low = low;
        a->series[used].high = high;
        a->series[used].count = windows;
        a->series[used].color = ex_palette(l->policy[which[k]].color);
        a->series[used].marker = EX_CIRCLE;
        used++;
    }
    a->line.title = "Degraded farm: mean of 10 s above least connections'";
    a->line.x.label = "time, s";
    a->line.y.label = "above, %";
    a->line.y.from_zero = true;
    a->line.series = a->series;
    a->line.series_count = used;
    return true;
}

static bool draw_healing(const lab *l, lab_host host)
{
    static const char *const worlds[] = { "heal", "heal_640", "fail" };
    static const char *const files[LAB_HOSTS] = { "healing.png", "healing_nginx.png", "healing_haproxy.png" };
    static const char *const titles[LAB_HOSTS] = { "Servers that slow down, fail and heal",
                                                   "nginx: servers that slow down, fail and heal",
                                                   "HAProxy: servers that slow down, fail and heal" };
    int32_t bad = lab_find_scene(l, host, "degraded_1"), count = 0, i;
    char title[EX_COUNT(worlds)][120];
    bool ok = true;

    memset(panels, 0, sizeof panels);
    room_used = 0;
    for (i = 0; i < EX_COUNT(worlds); i++) {
        int32_t at = lab_find_scene(l, host, worlds[i]);
        const lab_scene *s = &l->scene[at < 0 ? 0 : at];
        if (at < 0) continue;
        snprintf(title[i], sizeof title[i], "%g/s: a server of %.0f %% %s from %g s to %g s", s->rate,
                 100 * lab_due(s, 4), strcmp(s->fault[0].kind, "fail") == 0 ? "fails" : "is slow", s->fault[0].at_s,
                 s->fault[1].at_s);
        ok = ok && share_panel(l, &panels[count++], at, s->fault[0].server, title[i]);
    }
    if (bad >= 0) ok = ok && share_panel(l, &panels[count++], bad, 4, "Degraded farm: the slow large server");
    if (bad >= 0 && lab_windows(l, bad) > 1) ok = ok && window_panel(l, &panels[count++], bad);
    return ok && (count == 0 || figure(l, titles[host], "Shares by the second, means over the repeats; bands: 95 % "
                                       "intervals.", count, 'l', files[host]));
}

/* Shares of all servers of one policy, by ten seconds. */
static bool equal_panel(const lab *l, panel *a, int32_t s, int32_t p)
{
    enum { SPAN = 10 };
    int32_t v, b, k, span;

    for (v = 0; v < l->scene[s].servers; v++) {
        double *x = numbers(POINTS), *y = numbers(POINTS), share[POINTS];
        int32_t bins = lab_share_series(l, s, p, v, share, POINTS);
        if (!x || !y) return ex_fail("not enough room for a picture") == EX_OK;
        span = bins >= 6 * SPAN ? SPAN : 1;
        snprintf(a->words[v], sizeof a->words[v], "s%d", (int)v);
        a->series[v].name = a->words[v];
        a->series[v].count = bins / span;
        for (b = 0; b < bins / span; b++) {
            x[b] = (b + 0.5) * span;
            y[b] = 0;
            for (k = b * span; k < (b + 1) * span; k++) y[b] += 100 * share[k] / span;
        }
        a->series[v].x = x;
        a->series[v].y = y;
        a->series[v].color = ex_palette(v);
    }
    snprintf(a->title, sizeof a->title, "%s: %s", lab_host_names[l->scene[s].host], l->policy[p].name);
    a->line.title = a->title;
    a->line.x.label = "time, s";
    a->line.y.label = "share of the requests, %";
    a->line.y.from_zero = true;
    a->line.series = a->series;
    a->line.series_count = l->scene[s].servers;
    return true;
}

static bool draw_equal(const lab *l)
{
    int32_t s, p, count = 0;
    bool ok = true;

    memset(panels, 0, sizeof panels);
    room_used = 0;
    for (s = 0; s < l->scenes; s++) {
        for (p = 0; p < l->policies && ok; p++) {
            if (!l->scene[s].wanted || l->scene[s].part != LAB_EQUAL || !lab_has(&l->scene[s], p)) continue;
            if (count < PANELS) ok = equal_panel(l, &panels[count++], s, p);
        }
    }
    return ok && (count == 0 || figure(l, "Five identical servers", "Means over the repeats; of a minute or more, over "
                                       "ten seconds.", count, 'l', "equal.png"));
}

bool lab_draw(const lab *l)
{
    return draw_over_time(l, false) && draw_over_time(l, true) && draw_utilisation(l) && draw_curves(l) &&
           draw_boxes(l) && draw_summary(l) && draw_healing(l, LAB_PROXY) && draw_healing(l, LAB_NGINX) &&
           draw_healing(l, LAB_HAPROXY) && draw_equal(l);
}
