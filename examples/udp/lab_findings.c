/* lab_findings.c - see lab_parts.h */

#include "lab_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../rllb.h"
#include "study.h"

/* ---- one run ----------------------------------------------------------------------------------------------------- */

/* Of the traffic that was meant to go out between two moments, in whole bins. */
static double share_of(const ul_run *r, int32_t k, double from_s, double to_s)
{
    double sum = 0, own = 0;
    int32_t i, n;

    for (n = (int32_t)floor(from_s / UL_STEP_S + 0.5); n < UL_BINS && (n + 0.5) * UL_STEP_S < to_s; n++) {
        for (i = 0; n >= 0 && i < UL_CLIENTS; i++) sum += r->client[i][n].count;
        if (n >= 0) own += r->client[k][n].count;
    }
    return sum > 0 ? own / sum : (double)NAN;
}

/* Is it so for a while, from a moment on? Below: in every bin. Above: in the first one, and in the mean. */
static bool holds(const ul_lab *l, const ul_run *r, double at_s, double while_s, double share, bool below)
{
    double first = share_of(r, l->loaded, at_s, at_s + UL_STEP_S), passed_s;

    if (!below) return first > share && share_of(r, l->loaded, at_s, at_s + while_s) > share;
    for (passed_s = 0; passed_s < while_s; passed_s += UL_STEP_S) {
        if (!(share_of(r, l->loaded, at_s + passed_s, at_s + passed_s + UL_STEP_S) < share)) return false;
    }
    return true;
}

static double while_of(const ul_lab *l)
{
    return fmin(3, fmax(1, l->phase_s[1] / 6));
}

/* Seconds after from_s; NaN: it was not, up to to_s. */
static double crossing(const ul_lab *l, const ul_run *r, double from_s, double to_s, double share, bool below)
{
    double at_s;

    for (at_s = ceil(from_s / UL_STEP_S) * UL_STEP_S; at_s + while_of(l) <= to_s; at_s += UL_STEP_S) {
        if (holds(l, r, at_s, while_of(l), share, below)) return at_s - from_s;
    }
    return (double)NAN;
}

/* What the busy client had of its quota: all of it, unless the machine had less to give. */
static double used_of(const ul_lab *l, const ul_run *r)
{
    double from_s = l->phase_s[0] + 0.5, to_s = l->phase_s[0] + l->phase_s[1] - 0.5, sum = 0;
    int32_t i, count = 0;

    for (i = 0; i < r->cpu_count; i++) {
        if (r->cpu[i].at_s < from_s || r->cpu[i].at_s > to_s) continue;
        sum += r->cpu[i].share[l->loaded];
        count++;
    }
    return count ? sum / count : (double)NAN;
}

void ul_judge(const ul_lab *l, ul_run *r)
{
    double begin_s = 0, half;
    int32_t phase, k, i;

    for (phase = 0; phase < 3; phase++) {
        double end_s = begin_s + l->phase_s[phase], settled_s = begin_s + l->phase_s[phase] / (phase ? 2 : 3);
        double sum = 0, count = 0;
        for (k = 0; k < UL_CLIENTS; k++) r->shares[phase][k] = share_of(r, k, settled_s, end_s);
        for (i = 0; i < UL_BINS; i++) {
            double middle_s = (i + 0.5) * UL_STEP_S;
            if (middle_s < begin_s || middle_s >= end_s) continue;
            sum += r->answers[i].mean_ms * r->answers[i].count;
            count += r->answers[i].count;
        }
        r->delay_ms[phase] = count > 0 ? sum / count : (double)NAN;
        begin_s = end_s;
    }
    r->used = used_of(l, r);
    half = r->shares[0][l->loaded] / 2;
    r->leave_s = crossing(l, r, l->phase_s[0], l->phase_s[0] + l->phase_s[1], half, true);
    r->return_s = (double)NAN;
    if (isfinite(r->leave_s)) r->return_s = crossing(l, r, l->phase_s[0] + l->phase_s[1], ul_total_s(l), half, false);
}

/* ---- a policy ---------------------------------------------------------------------------------------------------- */

typedef enum number {
    N_BEFORE,
    N_LOADED,
    N_AFTER,
    N_LEAVE,
    N_RETURN,
    N_DELAY_BEFORE,
    N_DELAY_LOADED,
    N_DELAY_AFTER,
    N_P50,
    N_P99,
    N_LOST,
    N_USED,
    NUMBERS
} number;

static const char *const number_keys[NUMBERS] = {
    "share_before", "share_loaded",    "share_after", "left_after_s", "back_after_s", "delay_before_ms",
    "delay_loaded_ms", "delay_after_ms", "p50_ms",      "p99_ms",       "lost_share",
    "used_share",
};
static const char *const number_titles[NUMBERS] = {
    "share before, %", "busy, %",  "after, %",  "left, s", "back, s", "delay before, ms",
    "busy, ms",        "after, ms", "P50, ms", "P99, ms",  "lost, %",
    "its CPU used while busy, %",
};

static double number_of(const ul_lab *l, const ul_run *r, number n)
{
    switch (n) {
    case N_BEFORE: return 100 * r->shares[0][l->loaded];
    case N_LOADED: return 100 * r->shares[1][l->loaded];
    case N_AFTER: return 100 * r->shares[2][l->loaded];
    case N_LEAVE: return r->leave_s;
    case N_RETURN: return r->return_s;
    case N_DELAY_BEFORE: return r->delay_ms[0];
    case N_DELAY_LOADED: return r->delay_ms[1];
    case N_DELAY_AFTER: return r->delay_ms[2];
    case N_P50: return r->p50_ms;
    case N_P99: return r->p99_ms;
    case N_USED: return 100 * r->used;
    default: return r->sent > 0 ? 100 * r->lost / r->sent : (double)NAN;
    }
}

/* Over the repeats that have it; found: how many. */
static ex_estimate estimate_of(const ul_lab *l, int32_t policy, number n, int32_t *found)
{
    double values[UL_REPEATS];
    ex_estimate none = { (double)NAN, (double)NAN, (double)NAN };
    int32_t i;

    *found = 0;
    for (i = 0; i < l->repeats; i++) {
        double v = number_of(l, ul_run_of(l, policy, i), n);
        if (isfinite(v)) values[(*found)++] = v;
    }
    return *found ? ex_estimate_t(values, *found) : none;
}

static void number_text(const ul_lab *l, int32_t policy, number n, char out[64])
{
    static const int32_t decimals[NUMBERS] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0 };
    int32_t found;
    ex_estimate e = estimate_of(l, policy, n, &found);

    if (found == 0) {
        snprintf(out, 64, n == N_LEAVE || n == N_RETURN ? "never" : "-");
        return;
    }
    ex_estimate_text(e, decimals[n], out);
    if (found < l->repeats) {
        size_t at = strlen(out);
        snprintf(out + at, 64 - at, " (%d of %d)", (int)found, (int)l->repeats);
    }
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static void print_table(const ul_lab *l)
{
    ex_table t = { 0 };
    char text[64];
    int32_t p, n;

    ex_table_cell(&t, "of client %d", (int)l->loaded + 1);
    for (n = 0; n < NUMBERS; n++) ex_table_cell(&t, "%s", number_titles[n]);
    ex_table_row(&t);
    for (p = 0; p < l->policies; p++) {
        ex_table_cell(&t, "%s", l->policy[p]);
        for (n = 0; n < NUMBERS; n++) {
            number_text(l, p, (number)n, text);
            ex_table_cell(&t, "%s", text);
        }
        ex_table_row(&t);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static void report_place(const ul_lab *l, ex_text *t)
{
    if (ul_stage_spaces()) {
        ex_text_printf(t, "Hosts are network namespaces of one machine: server 192.168.56.4 with InfluxDB and the "
                          "allocator, clients .5 to .7, each with its agent, traffic from .1. ");
    } else {
        ex_text_printf(t, "One host for all, on loopback ports (%s): the network figures of clients are those of their "
                          "datagrams. ", ul_stage_why());
    }
    ex_text_printf(t, "Clients compute %.3g ms for every datagram and answer; together they have %g of a processor, as "
                      "2 : 3 : 4. ", l->work_us / 1000, l->cpus);
    if (ul_stage_quotas()) {
        ex_text_printf(t, "The kernel holds each to its quota, so that processes on a client take from its "
                          "datagrams.\n\n");
    } else {
        ex_text_printf(t, "**Without CPU quotas** (%s): a busy client says so, but is hardly slower. Delays prove "
                          "nothing here.\n\n", ul_stage_why());
    }
}

static void report_table(const ul_lab *l, ex_text *t)
{
    char text[64];
    int32_t p, n;

    ex_text_printf(t, "| |");
    for (n = 0; n < NUMBERS; n++) ex_text_printf(t, " %s |", number_titles[n]);
    ex_text_printf(t, "\n|---|");
    for (n = 0; n < NUMBERS; n++) ex_text_printf(t, "---|");
    for (p = 0; p < l->policies; p++) {
        ex_text_printf(t, "\n| %s |", l->policy[p]);
        for (n = 0; n < NUMBERS; n++) {
            number_text(l, p, (number)n, text);
            ex_text_printf(t, " %s |", text);
        }
    }
    ex_text_printf(t, "\n\n");
}

static void report_crowd(const ul_lab *l, ex_text *t)
{
    double least = HUGE_VAL;
    int32_t p, i;

    for (p = 0; p < l->policies; p++) {
        for (i = 0; i < l->repeats; i++) least = fmin(least, ul_run_of(l, p, i)->used);
    }
    if (!ul_stage_quotas() || !(least < 0.9)) return;
    ex_text_printf(t, "**The machine was crowded:** in one run the busy client had no more than %.0f %% of its quota, "
                      "though it wanted all of it. Others took part in these figures.\n\n", 100 * least);
}

static void report_words(const ul_lab *l, ex_text *t)
{
    int32_t p, i;

    for (p = 0; p < l->policies; p++) {
        int32_t left = 0, back = 0;
        for (i = 0; i < l->repeats; i++) {
            const ul_run *r = ul_run_of(l, p, i);
            left += isfinite(r->leave_s);
            back += isfinite(r->return_s);
        }
        ex_text_printf(t, "- %s: traffic left the busy client in %d of %d runs", l->policy[p], (int)left,
                       (int)l->repeats);
        if (left > 0) ex_text_printf(t, " and came back in %d", (int)back);
        ex_text_printf(t, ".\n");
    }
    ex_text_printf(t, "\nShares and delays are by the time a datagram was meant to go out, and not by the time a slow "
                      "client had it; shares are of datagrams that were served, so that what a client loses counts at "
                      "nobody. Left: the client's share is below half of what it was before, and stays there "
                      "for %.2g s; back: above that again, and in the mean of as long. Delays are those of answers, "
                      "from the moment a datagram was meant to go out, and what was never answered is in none of them; "
                      "lost is what reached no client, counted by sequence numbers.%s\n\n",
                   while_of(l),
                   l->repeats > 1 ? " Intervals are 95 % over the runs."
                                  : " **One run of each: no more than a look.**");
}

static bool write_report(const ul_lab *l)
{
    ex_text t = { 0 };
    bool ok;

    ex_text_printf(&t, "# The UDP allocator, with a client that gets busy\n\n");
    report_place(l, &t);
    ex_text_printf(&t, "%g datagrams a second of 10 to 150 bytes, Poisson, from %d senders that are new flows every %g "
                       "s. Agents sample every %g s, the allocator asks every %g s. After %.3g s, %d processes that "
                       "only compute start on client %d; %.3g s later they end, and %.3g s later the run does. All "
                       "policies meet the same datagrams.\n\n",
                   l->rate, (int)l->senders, l->life_s, l->interval_s, l->poll_s, l->phase_s[0], (int)l->burners,
                   (int)l->loaded + 1, l->phase_s[1], l->phase_s[2]);
    if (*l->model_words) ex_text_printf(&t, "Model: %s.\n\n", l->model_words);
    report_table(l, &t);
    report_words(l, &t);
    report_crowd(l, &t);
    ex_text_printf(&t, "What is real: the database, agents, allocator and their protocols; processor time, taken by "
                       "processes%s; memory, that of a client's processes out of %.1f MB, which makes it 0.4 at rest; "
                       "%s. What is not: clients share one machine with everything else here; what a client has of a "
                       "processor is what its agent is told its processor is; and bandwidth is declared, as 100 : 75 : "
                       "50, so that datagrams need as much of it as of processors, but nothing slows down who sends "
                       "more.\n\n",
                   ul_stage_quotas() ? " under a quota" : "", l->memory / 1e6,
                   ul_stage_spaces() ? "network counters, those of each client's interface"
                                     : "datagrams, through one loopback");
    ex_text_printf(&t, "![What clients report](metrics.png)\n\n![Who gets the traffic](shares.png)\n\n"
                       "![What it waits](delays.png)\n");
    ok = ex_text_write(&t, ex_path_join(l->out, "report.md").text);
    ex_text_free(&t);
    return ok;
}

/* ---- results.json ------------------------------------------------------------------------------------------------ */

static void json_run(ex_json *j, const ul_lab *l, const ul_run *r, int32_t repeat)
{
    int32_t n;

    ex_json_row(j, NULL);
    ex_json_uint(j, "seed", l->seed + (uint64_t)repeat);
    for (n = 0; n < NUMBERS; n++) {
        double v = number_of(l, r, (number)n);
        ex_json_double(j, number_keys[n], n <= N_AFTER || n >= N_LOST ? v / 100 : v);
    }
    ex_json_double(j, "mean_ms", r->mean_ms);
    ex_json_double(j, "sent", r->sent);
    ex_json_double(j, "answered", r->answered);
    ex_json_double(j, "lost", r->lost);
    ex_json_double(j, "duplicates", r->duplicates);
    ex_json_double(j, "reordered", r->reordered);
    ex_json_double(j, "damaged", r->damaged);
    ex_json_end(j);
}

static void json_settings(ex_json *j, const ul_lab *l)
{
    ex_json_object(j, "settings");
    ex_json_double(j, "rate", l->rate);
    ex_json_double(j, "load", l->load);
    ex_json_double(j, "cpus", l->cpus);
    ex_json_double(j, "work_us", l->work_us);
    ex_json_int(j, "loaded_client", l->loaded + 1);
    ex_json_int(j, "burners", l->burners);
    ex_json_int(j, "senders", l->senders);
    ex_json_double(j, "life_s", l->life_s);
    ex_json_double(j, "interval_s", l->interval_s);
    ex_json_double(j, "poll_s", l->poll_s);
    ex_json_double(j, "phase_s", l->phase_s[0]);
    ex_json_int(j, "repeats", l->repeats);
    ex_json_uint(j, "seed", l->seed);
    ex_json_string(j, "model", *l->model_words ? l->model_words : NULL);
    ex_json_end(j);
}

static bool write_results(const ul_lab *l)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t p, i;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", l->program->name);
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    json_settings(&j, l);
    ex_json_bool(&j, "namespaces", ul_stage_spaces());
    ex_json_bool(&j, "quotas", ul_stage_quotas());
    ex_json_string(&j, "why_not", *ul_stage_why() ? ul_stage_why() : NULL);
    ex_json_array(&j, "policies");
    for (p = 0; p < l->policies; p++) {
        ex_json_object(&j, NULL);
        ex_json_string(&j, "policy", l->policy[p]);
        ex_json_array(&j, "runs");
        for (i = 0; i < l->repeats; i++) json_run(&j, l, ul_run_of(l, p, i), i);
        ex_json_end(&j);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(l->out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

typedef enum kind { CPU, SHARE, DELAY } kind;

static double value_of(const ul_run *r, kind what, int32_t k, double from_s)
{
    double middle_s = from_s + UL_STEP_S / 2;
    int32_t i;

    if (what == SHARE) return share_of(r, k, from_s, from_s + UL_STEP_S);
    if (what == CPU) {
        for (i = 0; i < r->cpu_count; i++) {
            if (fabs(r->cpu[i].at_s - middle_s) <= UL_STEP_S / 2 + 0.06) return r->cpu[i].share[k];
        }
        return (double)NAN;
    }
    i = (int32_t)(middle_s / UL_STEP_S);
    return i < UL_BINS && r->client[k][i].count > 0 ? r->client[k][i].mean_ms : (double)NAN;
}

/* The mean of the runs. */
static double mean_of(const ul_lab *l, int32_t policy, kind what, int32_t k, double from_s)
{
    double sum = 0;
    int32_t i, count = 0;

    for (i = 0; i < l->repeats; i++) {
        double v = value_of(ul_run_of(l, policy, i), what, k, from_s);
        if (!isfinite(v)) continue;
        sum += v;
        count++;
    }
    return count ? sum / count : (double)NAN;
}

static bool draw(const ul_lab *l, kind what, const char *title, const char *axis, const char *file)
{
    static double x[UL_BINS], y[UL_POLICIES][UL_CLIENTS][UL_BINS];
    static ex_line_chart charts[UL_POLICIES];
    static ex_series series[UL_POLICIES][UL_CLIENTS + 1];
    static const char *const names[UL_CLIENTS] = { "client 1", "client 2", "client 3" };
    double busy_x[2] = { l->phase_s[0], l->phase_s[0] + l->phase_s[1] }, low[2], high[2], top = what == DELAY ? 1e4 : 1;
    ex_panel panels[UL_POLICIES];
    ex_figure f;
    int32_t p, k, i, count = (int32_t)(ul_total_s(l) / UL_STEP_S);

    if (count > UL_BINS) count = UL_BINS;
    low[0] = low[1] = what == DELAY ? 1 : 0;
    high[0] = high[1] = top;
    memset(charts, 0, sizeof charts);
    memset(series, 0, sizeof series);
    memset(panels, 0, sizeof panels);
    memset(&f, 0, sizeof f);
    for (p = 0; p < l->policies; p++) {
        series[p][0] = (ex_series){ .name = "busy", .x = busy_x, .y = low, .low = low, .high = high, .count = 2,
                                    .color = EX_MUTED, .width = 1 };
        for (k = 0; k < UL_CLIENTS; k++) {
            for (i = 0; i < count; i++) {
                x[i] = (i + 0.5) * UL_STEP_S;
                y[p][k][i] = mean_of(l, p, what, k, i * UL_STEP_S);
            }
            series[p][k + 1] = (ex_series){ .name = names[k], .x = x, .y = y[p][k], .count = count,
                                            .color = ex_palette(k), .width = k == l->loaded ? 3 : 2 };
        }
        charts[p].title = l->policy[p];
        charts[p].x.label = "time (s)";
        charts[p].y.label = axis;
        charts[p].y.low = what == DELAY ? 1 : 0;
        charts[p].y.high = top;
        charts[p].y.logarithmic = what == DELAY;
        charts[p].series = series[p];
        charts[p].series_count = UL_CLIENTS + 1;
        panels[p].line = &charts[p];
    }
    f.title = title;
    f.panels = panels;
    f.panel_count = l->policies;
    f.columns = l->policies > 1 ? 2 : 1;
    return ex_figure_write(&f, 1440, l->policies > 2 ? 1040 : 620, ex_path_join(l->out, file).text);
}

bool ul_report(const ul_lab *l)
{
    bool ok = write_report(l) && write_results(l) &&
              draw(l, CPU, "Processor time of clients", "used (share of what it has)", "metrics.png") &&
              draw(l, SHARE, "Who gets the traffic", "share of datagrams", "shares.png") &&
              draw(l, DELAY, "How long datagrams wait and are served", "mean delay (ms)", "delays.png");

    if (ok && !l->quiet) {
        print_table(l);
        printf("%s\n", ex_path_join(l->out, "report.md").text);
    }
    return ok;
}
