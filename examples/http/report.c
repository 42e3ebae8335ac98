/* report.c - tables and files of the experiment; see experiment.h */

#include "experiment.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../rllb.h"

/* ---- what others measured ---------------------------------------------------------------------------------------- */

/* The same farm behind real balancers: one run of 8 s each on a machine of this kind (two hardware threads, Debian 12),
   nginx 1.22.1 and HAProxy 2.6.12, P99 to some 15 %. P50, P90, P99 in ms. */
typedef struct anchor {
    const char *scene, *name;
    double p50, p90, p99;
} anchor;

static const anchor anchors[] = {
    { "farm_520", "HAProxy roundrobin", 42, 433, 597 },
    { "farm_520", "HAProxy leastconn", 19.9, 62, 115 },
    { "farm_520", "HAProxy leastconn, weights 1:2 (the form of SED)", 17.7, 57, 111 },
    { "farm_520", "nginx least_conn", 20, 62, 115 },
    { "farm_640", "HAProxy roundrobin", 387, 1403, 2151 },
    { "farm_640", "HAProxy leastconn", 24.5, 68, 124 },
    { "farm_640", "HAProxy leastconn, weights 1:2 (the form of SED)", 18.8, 58, 114 },
    { "farm_640", "nginx least_conn", 23.9, 69, 129 },
    { "farm_720", "HAProxy roundrobin", 714, 2280, 3231 },
    { "farm_720", "HAProxy leastconn", 28.8, 80, 137 },
    { "farm_720", "HAProxy leastconn, weights 1:2 (the form of SED)", 22.6, 66, 118 },
    { "farm_720", "nginx least_conn", 29.1, 77, 137 },
    { "degraded_1", "HAProxy leastconn", 28.5, 92.4, 272 },
    { "degraded_1", "HAProxy leastconn, stale weights 1:2", 22.9, 79.3, 241 },
    { "degraded_1", "HAProxy leastconn, true weights", 25.3, 72.6, 159 },
    { "degraded_2", "HAProxy leastconn", 29.8, 97.4, 300 },
    { "degraded_2", "HAProxy leastconn, stale weights 1:2", 23.6, 85.2, 246 },
    { "degraded_2", "HAProxy leastconn, true weights", 24.9, 75.1, 191 },
};

int32_t lab_first(const lab *l, int32_t scene)
{
    int32_t p;

    for (p = 0; p < l->policies; p++) {
        if (lab_has(&l->scene[scene], p)) return p;
    }
    return -1;
}

bool lab_ran(const lab *l, lab_part part)
{
    int32_t s;

    for (s = 0; s < l->scenes; s++) {
        if (l->scene[s].part == part && l->scene[s].wanted) return true;
    }
    return false;
}

/* ---- tables for people ------------------------------------------------------------------------------------------- */

static const lab_key table_keys[] = { LAB_P50, LAB_P90, LAB_P95, LAB_P99, LAB_P999 };

static const char *interval(ex_estimate e, const char *sign, char out[64])
{
    double half = (e.high - e.low) / 2;
    int decimals = fabs(e.mean) < 100 ? 1 : 0;

    if (!isfinite(e.mean)) snprintf(out, 64, "-");
    else if (!isfinite(half)) snprintf(out, 64, strcmp(sign, "+") == 0 ? "%+.*f" : "%.*f", decimals, e.mean);
    else snprintf(out, 64, strcmp(sign, "+") == 0 ? "%+.*f \302\261 %.*f" : "%.*f \302\261 %.*f", decimals, e.mean,
                  decimals, half);
    return out;
}

static void shares_text(const lab *l, int32_t s, int32_t p, char *out, size_t size)
{
    size_t at = 0;
    int32_t i;

    *out = '\0';
    for (i = 0; i < l->scene[s].servers && at < size; i++) {
        at += (size_t)snprintf(out + at, size - at, "%s%.0f", i ? " " : "", 100 * lab_share(l, s, p, i).mean);
    }
}

/* Failed and sent requests of all repeats around an event. */
static void lost_of(const lab *l, int32_t s, int32_t p, int32_t event, int32_t *lost, int32_t *sent)
{
    int32_t i;

    *lost = *sent = 0;
    for (i = 0; i < l->repeats; i++) {
        *lost += lab_run_of(l, s, p, i)->event_lost[event];
        *sent += lab_run_of(l, s, p, i)->event_sent[event];
    }
}

static void print_lost(const lab *l, int32_t s)
{
    ex_table t = { 0 };
    int32_t p, k, lost, sent;

    ex_table_cell(&t, "failed of those sent");
    for (k = 0; k < l->scene[s].events; k++) ex_table_cell(&t, "%s", lab_deed_names[l->scene[s].event[k].deed]);
    ex_table_row(&t);
    for (p = 0; p < l->policies; p++) {
        if (!lab_has(&l->scene[s], p)) continue;
        ex_table_cell(&t, "%s", l->policy[p].name);
        for (k = 0; k < l->scene[s].events; k++) {
            lost_of(l, s, p, k, &lost, &sent);
            ex_table_cell(&t, "%d of %d", (int)lost, (int)sent);
        }
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static void print_cost(const lab *l, int32_t s)
{
    bool helped = l->scene[s].host == LAB_HAPROXY;
    ex_table t = { 0 };
    int32_t p;

    ex_table_cell(&t, "medians");
    ex_table_cell(&t, "requests/s");
    ex_table_cell(&t, "per s of its processor");
    ex_table_cell(&t, "P99");
    if (helped) ex_table_cell(&t, "companion at %g/s, %% of a core", LAB_PER_S);
    ex_table_row(&t);
    for (p = 0; p < l->policies; p++) {
        if (!lab_has(&l->scene[s], p)) continue;
        ex_table_cell(&t, "%s", l->policy[p].name);
        ex_table_cell(&t, "%.0f", lab_median(l, s, p, LAB_THROUGHPUT));
        ex_table_cell(&t, "%.0f", lab_median(l, s, p, LAB_CORE));
        ex_table_cell(&t, "%.2f", lab_median(l, s, p, LAB_P99));
        if (helped) ex_table_cell(&t, "%.2f", lab_median(l, s, p, LAB_HELPER));
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static void print_scene(const lab *l, int32_t s)
{
    int32_t first = lab_first(l, s), p, i;
    ex_table t = { 0 };
    char text[64], shares[128];

    printf("\n%s: %s\n", l->scene[s].key, l->scene[s].title);
    ex_table_cell(&t, "policy");
    ex_table_cell(&t, "mean");
    ex_table_cell(&t, "%% above %s", l->policy[first].name);
    ex_table_cell(&t, "P50");
    ex_table_cell(&t, "P90");
    ex_table_cell(&t, "P95");
    ex_table_cell(&t, "P99");
    ex_table_cell(&t, "P99.9");
    ex_table_cell(&t, "lost %%");
    ex_table_cell(&t, "shares %%");
    ex_table_row(&t);
    for (p = 0; p < l->policies; p++) {
        if (!lab_has(&l->scene[s], p)) continue;
        ex_table_cell(&t, "%s", l->policy[p].name);
        ex_table_cell(&t, "%s", interval(lab_estimate(l, s, p, LAB_MEAN), "", text));
        if (p == first) ex_table_cell(&t, "0");
        else ex_table_cell(&t, "%s", interval(lab_above(l, s, p, first, LAB_MEAN), "+", text));
        for (i = 0; i < EX_COUNT(table_keys); i++) {
            double ms = lab_median(l, s, p, table_keys[i]);
            ex_table_cell(&t, "%.*f", ms < 100 ? 1 : 0, ms);
        }
        ex_table_cell(&t, "%.3f", lab_estimate(l, s, p, LAB_LOST).mean);
        shares_text(l, s, p, shares, sizeof shares);
        ex_table_cell(&t, "%s", shares);
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
    if (l->scene[s].part == LAB_COST) print_cost(l, s);
    if (l->scene[s].events > 0) print_lost(l, s);
}

static const char *value_text(const lab_goal *g, char out[96])
{
    char text[64];

    if (!isfinite(g->value.mean)) snprintf(out, 96, "-");
    else snprintf(out, 96, "%s %s", interval(g->value, strcmp(g->unit, "%") == 0 ? "+" : "", text), g->unit);
    return out;
}

void lab_print(const lab *l)
{
    static lab_goal goals[LAB_GOALS];
    int32_t s, i, count = lab_goals(l, goals);
    char text[96];

    for (s = 0; s < l->scenes; s++) {
        if (l->scene[s].wanted) print_scene(l, s);
    }
    printf("\ntimes in ms, from the moment a request was due, learning left out%s; lost: not answered 2xx\n",
           l->repeats > 1 ? "; 95 % intervals, differences paired by repeat, percentiles: medians of the repeats" : "");
    for (s = 0; s < l->scenes; s++) {
        if (!l->scene[s].wanted && strcmp(l->scene[s].skipped, "not asked for") != 0) {
            printf("%s: skipped: %s\n", l->scene[s].key, l->scene[s].skipped);
        }
    }
    for (i = 0; i < count; i++) {
        printf("%s%s: %s; %s%s%s\n", i ? "" : "\n", lab_verdict_names[goals[i].verdict], goals[i].what,
               value_text(&goals[i], text), *goals[i].note ? "; " : "", goals[i].note);
    }
    printf("in %s: summary_report.md results.json comparison_results.json request_logs.csv and pictures\n", l->out);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_run(ex_json *j, const lab *l, int32_t s, int32_t p, int32_t i)
{
    const lab_run *r = lab_run_of(l, s, p, i);
    int32_t k;

    ex_json_row(j, NULL);
    ex_json_string(j, "scene", l->scene[s].key);
    ex_json_string(j, "policy", l->policy[p].name);
    ex_json_int(j, "repeat", i + 1);
    ex_json_uint(j, "seed", l->seed + (uint64_t)i);
    ex_json_int(j, "sent", r->f.sent);
    ex_json_int(j, "ok", r->f.ok);
    for (k = 0; k < LAB_KEYS; k++) ex_json_double(j, lab_key_names[k], lab_value(r, (lab_key)k));
    ex_json_row_array(j, "share");
    for (k = 0; k < l->scene[s].servers; k++) ex_json_double(j, NULL, r->f.share[k]);
    ex_json_end(j);
    ex_json_row_array(j, "mean_ms_of_10_s");
    for (k = 0; k < r->windows; k++) ex_json_float(j, NULL, r->window[k]);
    ex_json_end(j);
    if (l->scene[s].part == LAB_COST) {
        ex_json_double(j, "requests_per_processor_s", r->core);
        ex_json_double(j, "companion_percent", r->helper);
    }
    for (k = 0; k < l->scene[s].events; k++) {
        char key[24];
        snprintf(key, sizeof key, "event_%d_sent", (int)k + 1);
        ex_json_int(j, key, r->event_sent[k]);
        snprintf(key, sizeof key, "event_%d_lost", (int)k + 1);
        ex_json_int(j, key, r->event_lost[k]);
    }
    ex_json_end(j);
}

static void json_host(ex_json *j, const lab_scene *s)
{
    int32_t i;

    ex_json_string(j, "host", lab_host_names[s->host]);
    ex_json_int(j, "clients", s->clients);
    ex_json_row_array(j, "events");
    for (i = 0; i < s->events; i++) ex_json_string(j, NULL, lab_deed_names[s->event[i].deed]);
    ex_json_end(j);
}

static void json_settings(ex_json *j, const lab *l)
{
    int32_t i;

    ex_json_object(j, "settings");
    ex_json_row_array(j, "policies");
    for (i = 0; i < l->policies; i++) ex_json_string(j, NULL, l->policy[i].name);
    ex_json_end(j);
    ex_json_int(j, "repeats", l->repeats);
    ex_json_uint(j, "seed", l->seed);
    ex_json_bool(j, "quick", l->quick);
    ex_json_array(j, "scenes");
    for (i = 0; i < l->scenes; i++) {
        const lab_scene *s = &l->scene[i];
        ex_json_row(j, NULL);
        ex_json_string(j, "key", s->key);
        ex_json_string(j, "title", s->title);
        ex_json_bool(j, "ran", s->wanted);
        ex_json_string(j, "skipped", s->wanted ? NULL : s->skipped);
        ex_json_double(j, "rate_per_s", s->rate);
        ex_json_bool(j, "waits", s->closed);
        ex_json_int(j, "learn_requests", s->requests > 0 ? s->learn : 0);
        ex_json_int(j, "requests", s->requests);
        ex_json_double(j, "learn_s", s->requests > 0 ? 0 : s->learn_s);
        ex_json_double(j, "seconds", s->requests > 0 ? 0 : s->total_s);
        ex_json_int(j, "proxies", s->proxies);
        if (s->host != LAB_PROXY) json_host(j, s);
        ex_json_end(j);
    }
    ex_json_end(j);
    ex_json_end(j);
}

static void json_conditions(ex_json *j, const lab *l)
{
    int32_t i;

    ex_json_array(j, "conditions");
    for (i = 0; i < LAB_PARTS; i++) {
        const lab_conditions *c = &l->conditions[i];
        if (!(c->seconds > 0)) continue;
        ex_json_row(j, NULL);
        ex_json_string(j, "part", lab_part_names[i]);
        ex_json_double(j, "seconds", c->seconds);
        ex_json_int(j, "processors", c->processors);
        ex_json_int(j, "jobs", c->jobs);
        ex_json_int(j, "stalls", c->stalls);
        ex_json_double(j, "stall_most_s", c->stall_most_s);
        ex_json_double(j, "own_processor_s", c->own_s);
        ex_json_double(j, "all_processor_s", c->all_s);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static void json_goals(ex_json *j, const lab *l)
{
    static lab_goal goals[LAB_GOALS];
    int32_t i, count = lab_goals(l, goals);

    ex_json_array(j, "goals");
    for (i = 0; i < count; i++) {
        ex_json_row(j, NULL);
        ex_json_string(j, "goal", goals[i].key);
        ex_json_string(j, "what", goals[i].what);
        ex_json_string(j, "verdict", lab_verdict_names[goals[i].verdict]);
        ex_json_double(j, "at_most", goals[i].bound);
        ex_json_string(j, "unit", goals[i].unit);
        ex_json_estimate(j, "value", goals[i].value);
        ex_json_string(j, "note", goals[i].note);
        ex_json_end(j);
    }
    ex_json_end(j);
}

static void json_begin(ex_json *j, const lab *l)
{
    ex_json_object(j, NULL);
    ex_json_string(j, "program", l->program->name);
    ex_json_string(j, "version", RLLB_VERSION_STRING);
}

static bool write_results(const lab *l)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t s, p, i;
    bool ok;

    json_begin(&j, l);
    json_settings(&j, l);
    json_conditions(&j, l);
    ex_json_array(&j, "results");
    for (s = 0; s < l->scenes; s++) {
        for (p = 0; p < l->policies; p++) {
            for (i = 0; i < l->repeats && lab_has(&l->scene[s], p); i++) json_run(&j, l, s, p, i);
        }
    }
    ex_json_end(&j);
    json_goals(&j, l);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(l->out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* What the published evaluation compares, for one policy in one scene. */
static void json_strategy(ex_json *j, const lab *l, int32_t s, int32_t p)
{
    ex_estimate success = lab_estimate(l, s, p, LAB_LOST), e = success;
    int32_t i, k, first = lab_first(l, s);

    ex_json_object(j, l->policy[p].name);
    for (k = 0; k < LAB_LOST; k++) ex_json_estimate(j, lab_key_names[k], lab_estimate(l, s, p, (lab_key)k));
    e.mean = 100 - success.mean;
    e.low = 100 - success.high;
    e.high = 100 - success.low;
    ex_json_estimate(j, "success_percent", e);
    ex_json_estimate(j, "mean_above_first_percent", lab_above(l, s, p, first, LAB_MEAN));
    ex_json_array(j, "share");
    for (i = 0; i < l->scene[s].servers; i++) ex_json_estimate(j, NULL, lab_share(l, s, p, i));
    ex_json_end(j);
    ex_json_row_array(j, "learning_curve_ms");
    for (k = 0; k < LAB_CURVE; k++) {
        double sum = 0;
        for (i = 0; i < l->repeats; i++) sum += (double)lab_run_of(l, s, p, i)->curve[k] / l->repeats;
        ex_json_double(j, NULL, sum);
    }
    ex_json_end(j);
    ex_json_end(j);
}

static bool write_comparison(const lab *l)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t s, p;
    bool ok;

    json_begin(&j, l);
    ex_json_int(&j, "repeats", l->repeats);
    ex_json_object(&j, "comparison");
    for (s = 0; s < l->scenes; s++) {
        if (!l->scene[s].wanted) continue;
        ex_json_object(&j, l->scene[s].key);
        ex_json_string(&j, "title", l->scene[s].title);
        ex_json_string(&j, "first", l->policy[lab_first(l, s)].name);
        ex_json_object(&j, "policies");
        for (p = 0; p < l->policies; p++) {
            if (lab_has(&l->scene[s], p)) json_strategy(&j, l, s, p);
        }
        ex_json_end(&j);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(l->out, "comparison_results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* A log's lines behind who made them. The heading comes from the first one. */
static bool add_log(const lab *l, int32_t s, int32_t p, int32_t i, ex_text *to)
{
    ex_text log = { 0 };
    bool ok = ex_file_read(lab_log(l, s, p, i).text, (size_t)1 << 28, &log);
    const char *line = log.data, *end;

    while (ok && line && (end = strchr(line, '\n')) != NULL) {
        bool heading = line == log.data;
        if (!heading) ex_text_printf(to, "%s,%s,%d,", l->scene[s].key, l->policy[p].name, (int)i + 1);
        else if (to->size == 0) ex_text_printf(to, "scene,policy,repeat,");
        if (!heading || to->size < 64) ex_text_add(to, line, (size_t)(end + 1 - line));
        line = end + 1;
    }
    ex_text_free(&log);
    return ok;
}

/* Of the published servers all, of the others, which have a hundred times as many, those of the first scene if there
   are no published ones; all are in runs/. */
static bool write_requests(const lab *l)
{
    ex_text text = { 0 };
    int32_t s, p, i, only = -1;
    bool ok = true, three = lab_ran(l, LAB_THREE);

    for (s = 0; ok && s < l->scenes; s++) {
        if (!l->scene[s].wanted || (three && l->scene[s].part != LAB_THREE)) continue;
        if (only >= 0 && !three) continue;
        only = s;
        for (p = 0; ok && p < l->policies; p++) {
            for (i = 0; ok && i < l->repeats && lab_has(&l->scene[s], p); i++) ok = add_log(l, s, p, i, &text);
        }
    }
    ok = ok && ex_text_write(&text, ex_path_join(l->out, "request_logs.csv").text);
    ex_text_free(&text);
    return ok;
}

/* ---- the report in words ----------------------------------------------------------------------------------------- */

static void md_conditions(ex_text *t, const lab *l)
{
    int32_t i;

    ex_text_printf(t, "## Conditions\n\n");
    for (i = 0; i < LAB_PARTS; i++) {
        const lab_conditions *c = &l->conditions[i];
        if (!(c->seconds > 1)) continue;
        ex_text_printf(t, "- %s: %.0f s on %d hardware threads, %d cells at a time, which used %.0f %% "
                       "of them; everything else on the machine %.0f %%; a sleeping process was woken more than 20 ms "
                       "late %d times, %.0f ms at most%s\n", lab_part_names[i], c->seconds,
                       (int)c->processors, (int)c->jobs,
                       100 * c->own_s / (c->seconds * c->processors),
                       100 * (c->all_s - c->own_s) / (c->seconds * c->processors), (int)c->stalls,
                       1000 * c->stall_most_s, i == LAB_APACHE ? " (Apache's own work counts as everything else)" : "");
    }
    ex_text_printf(t, "\nAll is on one machine, over loopback. Servers are processes that wait for as long as the work "
                   "would take%s. \"lsq again\" and the like are least connections once more with the same requests: "
                   "what lies between it and the first is the machine's noise, and no difference of that size means "
                   "anything.\n", lab_ran(l, LAB_APACHE) ? "; those of the last scene are Apache, and do work" : "");
}

static void md_scene_table(ex_text *t, const lab *l, int32_t s)
{
    int32_t first = lab_first(l, s), p, k;
    char text[64], shares[128];

    ex_text_printf(t, "| policy | mean, ms | above %s, %% | P50 | P90 | P95 | P99 | P99.9 | CV | per s | lost, %% | "
                   "shares, %% |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n", l->policy[first].name);
    for (p = 0; p < l->policies; p++) {
        if (!lab_has(&l->scene[s], p)) continue;
        ex_text_printf(t, "| %s | %s | ", l->policy[p].name, interval(lab_estimate(l, s, p, LAB_MEAN), "", text));
        ex_text_printf(t, "%s", p == first ? "0" : interval(lab_above(l, s, p, first, LAB_MEAN), "+", text));
        for (k = 0; k < EX_COUNT(table_keys); k++) {
            double ms = lab_median(l, s, p, table_keys[k]);
            ex_text_printf(t, " | %.*f", ms < 100 ? 1 : 0, ms);
        }
        shares_text(l, s, p, shares, sizeof shares);
        ex_text_printf(t, " | %.3f | %.2f | %.3f | %s |\n", lab_estimate(l, s, p, LAB_CV).mean,
                       lab_estimate(l, s, p, LAB_THROUGHPUT).mean, lab_estimate(l, s, p, LAB_LOST).mean, shares);
    }
}

static void md_anchors(ex_text *t, const lab *l, int32_t s)
{
    int32_t i, found = 0;

    for (i = 0; i < EX_COUNT(anchors); i++) {
        const anchor *a = &anchors[i];
        if (strcmp(a->scene, l->scene[s].world) != 0) continue;
        if (found++ == 0) {
            ex_text_printf(t, "\nBeside it, not of this run: real balancers before the same farm, on a machine of "
                           "this kind (nginx 1.22.1, HAProxy 2.6.12, %s).\n\n| balancer | P50 | P90 | P99 |\n"
                           "|---|---|---|---|\n",
                           l->scene[s].part == LAB_FARM ? "single runs of 8 s" : "four runs of 11 s");
        }
        ex_text_printf(t, "| %s | %g | %g | %g |\n", a->name, a->p50, a->p90, a->p99);
    }
}

static void md_three(ex_text *t, const lab *l, int32_t s)
{
    const lab_scene *x = &l->scene[s];

    ex_text_printf(t, "The first %d requests of every run are learning, for all policies alike, and not in the table; "
                   "the next %d are.%s%s\n\n", (int)x->learn, (int)x->requests,
                   x->server[0].block_ms > 0 ? " Every request holds its server for 100 ms." : "",
                   x->closed ? " One client asks, and waits for each answer before it asks again." : "");
}

static void md_windows(ex_text *t, const lab *l, int32_t s)
{
    int32_t learned = lab_role_of(l, s, LAB_LEARNED), base = lab_role_of(l, s, LAB_BASE), w, count = lab_windows(l, s);
    char text[64];

    if (learned < 0 || base < 0 || count < 1) return;
    ex_text_printf(t, "\nMean of %s above that of least connections, %%, in each 10 s from the start (learning "
                   "included, paired by repeat):", l->policy[learned].name);
    for (w = 0; w < count; w++) {
        ex_text_printf(t, "%s %s", w ? "," : "", interval(lab_window_above(l, s, learned, base, w), "+", text));
    }
    ex_text_printf(t, ".\n");
}

/* How far the same policy is from itself. */
static void md_noise(ex_text *t, const lab *l, int32_t s)
{
    char mean[64], tail[64];
    int32_t p;

    for (p = 0; p < l->policies; p++) {
        int32_t of = l->policy[p].again;
        if (of < 0 || !lab_has(&l->scene[s], p) || !lab_has(&l->scene[s], of)) continue;
        interval(lab_above(l, s, p, of, LAB_MEAN), "+", mean);
        interval(lab_above(l, s, p, of, LAB_P99), "+", tail);
        ex_text_printf(t, "\nNoise: %s above %s, %%: mean %s, P99 %s.\n", l->policy[p].name, l->policy[of].name, mean,
                       tail);
    }
}

/* Where the data say that it is worse than least connections: why. */
static void md_table_fails(ex_text *t, const lab *l, int32_t s)
{
    int32_t q = lab_find(l, "q_learning"), lsq = lab_find(l, "lsq");

    if (q < 0 || lsq < 0 || !lab_has(&l->scene[s], q) || !lab_has(&l->scene[s], lsq)) return;
    if (!(lab_above(l, s, q, lsq, LAB_MEAN).mean > 5)) return;
    ex_text_printf(t, "\nQ-learning is worse than least connections here (mean of what was answered %+.0f %%, "
                   "lost %.1f %%). Its table answers the same as long as no server's level changes: all requests that "
                   "come meanwhile go to one server, and once all are at their worst level it cannot tell them "
                   "apart.\n",
                   lab_above(l, s, q, lsq, LAB_MEAN).mean, lab_estimate(l, s, q, LAB_LOST).mean);
}

static void md_swings(ex_text *t, const lab *l, int32_t s)
{
    int32_t p;
    char text[64];
    bool any = false;

    for (p = 0; p < l->policies; p++) {
        ex_estimate e;
        if (!lab_has(&l->scene[s], p)) continue;
        e = lab_swing(l, s, p);
        if (!isfinite(e.mean)) continue;
        ex_text_printf(t, "%s %s %s", any ? "," : "\nHow much shares swing (means of 5 s, standard deviation over "
                       "time, points of percent):", l->policy[p].name, interval(e, "", text));
        any = true;
    }
    if (any) ex_text_printf(t, ".\n");
}

static void seconds_text(ex_text *t, double there, double left_s)
{
    if (isfinite(there)) ex_text_printf(t, " | %.0f s", there);
    else ex_text_printf(t, " | not within %.0f s", left_s);
}

/* Mean share of the server from one second to another, over the repeats. */
static double share_between(const lab *l, int32_t s, int32_t p, int32_t server, double from_s, double to_s)
{
    double share[1024], sum = 0;
    int32_t b, bins = lab_share_series(l, s, p, server, share, 1024), used = 0;

    for (b = (int32_t)from_s; b < bins && b < (int32_t)to_s; b++, used++) sum += share[b];
    return used > 0 ? sum / used : (double)NAN;
}

static void md_fault(ex_text *t, const lab *l, int32_t s)
{
    const lab_scene *x = &l->scene[s];
    const lab_fault *begins = &x->fault[0], *ends = &x->fault[x->faults - 1];
    bool fails = strcmp(begins->kind, "fail") == 0;
    double middle_s = (begins->at_s + ends->at_s) / 2, left_s = x->total_s - ends->at_s;
    int32_t p, server = begins->server;

    ex_text_printf(t, "\nServer s%d %s from second %g to %g; its fair share is %.0f %%. Seconds until its share is "
                   "there, to a fifth (mean over repeats, mean of a second)%s:\n\n| policy | share before, %% | %s | "
                   "fair share back after | share from before back after |\n|---|---|---|---|---|\n", (int)server,
                   fails ? "fails" : "is slow", begins->at_s, ends->at_s, 100 * lab_due(x, server),
                   fails ? "; retries are off, so that every pick shows" : "",
                   fails ? "left after" : "share while slow, %");
    for (p = 0; p < l->policies; p++) {
        double before = share_between(l, s, p, server, begins->at_s / 2, begins->at_s);
        if (!lab_has(x, p)) continue;
        ex_text_printf(t, "| %s | %.1f", l->policy[p].name, 100 * before);
        if (fails) seconds_text(t, lab_there(l, s, p, server, begins->at_s, 0), ends->at_s - begins->at_s);
        else ex_text_printf(t, " | %.1f", 100 * share_between(l, s, p, server, middle_s, ends->at_s));
        seconds_text(t, lab_there(l, s, p, server, ends->at_s, lab_due(x, server)), left_s);
        seconds_text(t, lab_there(l, s, p, server, ends->at_s, before), left_s);
        ex_text_printf(t, " |\n");
    }
}

static const char *const part_words[] = {
    "The published balancer (\"Smart Load Balancer for Web Servers\", Auxilus08/RouteAI) was measured with a client "
    "that waits, at 10 requests/s at most. Its servers wait 50, 75 or 100 ms, and before that every request blocks its "
    "server for some 100 ms (a look at the CPU), so that in effect each serves no more than ten a second: the scenes "
    "`slot_*`. Published from there: round robin 185.3 ms mean over 537 requests, Q-learning 163.2 ms over "
    "**45** requests, 12.0 % less; 15 to 30 % is the authors' expectation. The scenes `three_*` are the servers as "
    "their description has them. SED is told weights as one over the time that a request takes when it is alone, "
    "learned and q_learning nothing.",
    "Four servers of 2 slots and three of 4, exponential demands of 25 ms, Poisson arrivals. SED is told 1:2, which is "
    "right; learned and q_learning are told nothing.",
    "The same farm, one server of each kind at 0.3 of its speed without notice. SED is told 1:2, as before; `sed+told` "
    "the truth, which nobody knows in service; learned and q_learning nothing.",
    "The same farm, all well at first.",
    "Apache (prefork) and PHP, which computes: exponential demands of 5 ms of one CPU, of which the servers have 15, "
    "15 and 30 %, by cgroup quotas. SED is told these, learned and q_learning nothing; awcmp goes by the busy workers "
    "that Apache's status page tells every 0.25 s.",
};

static const char *const host_words[LAB_PARTS] = {
    [LAB_FARM] =
        "Four servers of 2 slots and three of 4, exponential demands of 25 ms, Poisson arrivals. +slots is told 1:2, "
        "which is right here; the others nothing.",
    [LAB_DEGRADED] =
        "The same farm, one server of each kind at 0.3 of its speed without notice. +slots is told 1:2, as before; "
        "+told the truth, which nobody knows in service; the others nothing. Two balancers: half of the requests each, "
        "and each with a model or a companion of its own.",
    [LAB_FAULT] = "The same farm, all well at first. An answer of 500 is not tried again.",
    [LAB_EQUAL] =
        "Five servers of two slots; nobody is told anything. A balancer that believes an unlucky server's past for "
        "ever starves it.",
    [LAB_LOSS] =
        "Five servers of four slots, the last in a process of its own. A request belongs to an event if it was due "
        "from half a second before it to half a second before the next. nginx has two workers, HAProxy a master and a "
        "worker. What is lost without rllb is the host's own: requests in flight in what is killed, connections that a "
        "reload closes, a port that nobody listens on.",
    [LAB_COST] =
        "Five servers that answer at once, one worker or thread; before nginx 32 clients that wait for their answers, "
        "before HAProxy open arrivals. Load, servers and balancer share the machine, so that requests a second are its "
        "work as a whole; those for a second of the balancer's own processor time (that of its processes, by /proc) "
        "are its alone. Instructions: examples/nginx/measure.py.",
};

static bool any_of(const lab *l, lab_part part, bool hosts, bool only_wanted)
{
    int32_t s;

    for (s = 0; s < l->scenes; s++) {
        const lab_scene *x = &l->scene[s];
        if (x->part == part && (x->host != LAB_PROXY) == hosts && (x->wanted || !only_wanted)) return true;
    }
    return false;
}

static void md_cost(ex_text *t, const lab *l, int32_t s)
{
    int32_t base = lab_role_of(l, s, LAB_BASE), p;
    bool helped = l->scene[s].host == LAB_HAPROXY;
    char text[64];

    ex_text_printf(t, "\nMedians, and how far above %s, %%:\n\n| policy | requests/s | | for a second of its processor "
                   "| | P99, ms | |%s\n|---|---|---|---|---|---|---|%s\n", base < 0 ? "-" : l->policy[base].name,
                   helped ? " companion at 10,000/s, % of a core |" : "", helped ? "---|" : "");
    for (p = 0; p < l->policies; p++) {
        static const lab_key keys[] = { LAB_THROUGHPUT, LAB_CORE, LAB_P99 };
        int32_t k;
        if (!lab_has(&l->scene[s], p)) continue;
        ex_text_printf(t, "| %s", l->policy[p].name);
        for (k = 0; k < EX_COUNT(keys); k++) {
            ex_text_printf(t, " | %.*f", keys[k] == LAB_P99 ? 2 : 0, lab_median(l, s, p, keys[k]));
            if (p == base || base < 0) ex_text_printf(t, " | 0");
            else ex_text_printf(t, " | %s", interval(lab_above(l, s, p, base, keys[k]), "+", text));
        }
        if (helped) ex_text_printf(t, " | %s", interval(lab_estimate(l, s, p, LAB_HELPER), "", text));
        ex_text_printf(t, " |\n");
    }
}

static void md_lost(ex_text *t, const lab *l, int32_t s)
{
    int32_t p, k, lost, sent;

    ex_text_printf(t, "\n| failed of those sent |");
    for (k = 0; k < l->scene[s].events; k++) ex_text_printf(t, " %s |", lab_deed_names[l->scene[s].event[k].deed]);
    ex_text_printf(t, "\n|---|");
    for (k = 0; k < l->scene[s].events; k++) ex_text_printf(t, "---|");
    ex_text_printf(t, "\n");
    for (p = 0; p < l->policies; p++) {
        if (!lab_has(&l->scene[s], p)) continue;
        ex_text_printf(t, "| %s |", l->policy[p].name);
        for (k = 0; k < l->scene[s].events; k++) {
            lost_of(l, s, p, k, &lost, &sent);
            ex_text_printf(t, " %d of %d |", (int)lost, (int)sent);
        }
        ex_text_printf(t, "\n");
    }
}

static void md_equal(ex_text *t, const lab *l, int32_t s)
{
    int32_t p, any = 0;

    ex_text_printf(t, "\nFurthest from an equal share, of all servers and runs: over the whole time, in a minute:");
    for (p = 0; p < l->policies; p++) {
        if (!lab_has(&l->scene[s], p)) continue;
        ex_text_printf(t, "%s %s %.1f %%, %.1f %%", any++ ? ";" : "", l->policy[p].name,
                       lab_uneven(l, s, p, l->scene[s].total_s).percent, lab_uneven(l, s, p, LAB_SPAN_S).percent);
    }
    ex_text_printf(t, ".\n");
}

static void md_scene(ex_text *t, const lab *l, int32_t s)
{
    const lab_scene *x = &l->scene[s];

    ex_text_printf(t, "\n### %s: %s\n\n", x->key, x->title);
    if (x->requests > 0) md_three(t, l, s);
    if (x->clients > 0) ex_text_printf(t, "%d clients for ", (int)x->clients);
    else if (x->requests <= 0) ex_text_printf(t, "%.6g requests/s for ", x->rate);
    if (x->requests <= 0) ex_text_printf(t, "%g s; the table leaves out the first %g s.\n\n", x->total_s, x->learn_s);
    md_scene_table(t, l, s);
    md_noise(t, l, s);
    md_table_fails(t, l, s);
    md_anchors(t, l, s);
    if (x->part == LAB_DEGRADED) md_windows(t, l, s);
    if (x->part == LAB_DEGRADED || x->part == LAB_FARM || x->part == LAB_EQUAL) md_swings(t, l, s);
    if (x->part == LAB_EQUAL) md_equal(t, l, s);
    if (x->part == LAB_COST) md_cost(t, l, s);
    if (x->events > 0) md_lost(t, l, s);
    if (x->faults > 0) md_fault(t, l, s);
}

static void md_scenes(ex_text *t, const lab *l)
{
    static const char *const headings[LAB_PARTS] = {
        "Three published servers", "The moderate farm", "The degraded farm", "Faults", "Real servers",
        "Equal servers", "Nothing lost", "What it costs"
    };
    int32_t part, s;

    for (part = 0; part < LAB_PARTS; part++) {
        lab_part that = (lab_part)part;
        if (!any_of(l, that, false, false) && !any_of(l, that, true, false)) continue;
        ex_text_printf(t, "\n## %s\n\n", headings[part]);
        if (any_of(l, that, false, true)) ex_text_printf(t, "%s\n", part_words[part]);
        if (any_of(l, that, true, true)) ex_text_printf(t, "%s\n", host_words[part]);
        for (s = 0; s < l->scenes; s++) {
            const lab_scene *x = &l->scene[s];
            if (x->part != that) continue;
            if (x->wanted) md_scene(t, l, s);
            else ex_text_printf(t, "`%s` was left out: %s.\n\n", x->key, x->skipped);
        }
    }
}

static void md_goals(ex_text *t, const lab *l)
{
    static lab_goal goals[LAB_GOALS];
    int32_t i, count = lab_goals(l, goals);
    char text[96];

    ex_text_printf(t, "## Goals\n\nBy the data of this run. *Met*: the value is within the bound, its 95 %% interval "
                   "too; *not shown*: only one of both is.%s\n\n| | wanted | measured | |\n"
                   "|---|---|---|---|\n",
                   l->repeats < 5 ? " With fewer than five repeats nothing of this is proof." : "");
    for (i = 0; i < count; i++) {
        ex_text_printf(t, "| **%s** | %s | %s | %s |\n", lab_verdict_names[goals[i].verdict], goals[i].what,
                       value_text(&goals[i], text), goals[i].note);
    }
    if (count == 0) ex_text_printf(t, "None of the scenes and policies that goals are about were run.\n");
}

static void md_begin(ex_text *t, const lab *l)
{
    bool proxy = l->hosts >> LAB_PROXY & 1, others = (l->hosts & ~(1U << LAB_PROXY)) != 0;
    int32_t i;

    ex_text_printf(t, "# %s\n\nMade by `build/http/experiment", proxy ? "A learning HTTP balancer beside others"
                                                                     : "nginx and HAProxy, with rllb and without");
    for (i = 0; i < LAB_HOSTS && others; i++) {
        if (!(l->hosts >> i & 1)) continue;
        ex_text_printf(t, "%s%s", l->hosts & ((1U << i) - 1) ? "," : " --host ", lab_host_names[i]);
    }
    ex_text_printf(t, "%s`, %d repeat%s, "
                   "seeds from %llu. Every policy met the same arrivals and demands, repeat by repeat, each run with "
                   "processes of its own, in turns. Times count from the moment a request was due. Intervals are 95 %% "
                   "over repeats, differences are paired by repeat, percentiles are medians of the repeats.\n\n",
                   l->quick ? " --quick" : "", (int)l->repeats,
                   l->repeats == 1 ? "" : "s", (unsigned long long)l->seed);
}

static void md_pictures(ex_text *t, const lab *l)
{
    static const char *const pictures[] = { "latency_over_time", "throughput_comparison", "server_utilization",
                                            "learning_curve", "latency_distribution", "comparison_summary" };
    int32_t i, s;

    ex_text_printf(t, "\n## Pictures\n\n");
    for (i = 0; i < EX_COUNT(pictures); i++) ex_text_printf(t, "![%s](%s.png)\n", pictures[i], pictures[i]);
    for (i = 0; i < LAB_HOSTS; i++) {
        bool any = false;
        for (s = 0; s < l->scenes; s++) {
            const lab_scene *x = &l->scene[s];
            any = any || (x->wanted && x->host == (lab_host)i && (x->part == LAB_FAULT || x->part == LAB_DEGRADED));
        }
        if (any) ex_text_printf(t, "![healing](healing%s%s.png)\n", i == LAB_PROXY ? "" : "_",
                                i == LAB_PROXY ? "" : lab_host_names[i]);
    }
    if (lab_ran(l, LAB_EQUAL)) ex_text_printf(t, "![equal servers](equal.png)\n");
}

static bool write_summary(const lab *l)
{
    ex_text t = { 0 };
    bool ok;

    md_begin(&t, l);
    md_goals(&t, l);
    ex_text_printf(&t, "\n");
    md_conditions(&t, l);
    md_scenes(&t, l);
    md_pictures(&t, l);
    ok = ex_text_write(&t, ex_path_join(l->out, "summary_report.md").text);
    ex_text_free(&t);
    return ok;
}

bool lab_report(const lab *l)
{
    int32_t s, count = 0;

    for (s = 0; s < l->scenes; s++) count += l->scene[s].wanted;
    if (count == 0) return ex_fail("none of the parts that were asked for can run here") == EX_OK;
    return lab_draw(l) && write_requests(l) && write_comparison(l) && write_results(l) && write_summary(l);
}
