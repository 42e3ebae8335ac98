/* visualize.c - a policy at work, picture by picture: loads, choices, reward

   One or two policies, classical or trained, meet the same traffic for some steps. Every step becomes a picture: what
   stands at each server, what has just come and where it was sent, the last choices, the reward so far. Two policies
   stand side by side.

   Build:   make build/visualize
   Run:     build/visualize --policy round_robin,least_load --env honest --traffic high --out out/visualize
   Video:   ffmpeg -framerate 10 -i out/visualize/frames/frame_%04d.png -pix_fmt yuv420p visualize.mp4
   Prints:  how the policies fared
   Writes:  frames/frame_0001.png ..., contact_sheet.png, summary.png, log_1.csv (log_2.csv), results.json

   The logs are such that similarity --simulated reads them. */

#include "common.h"
#include "player.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLAYERS_MOST = 2, WIDTH = 960, HEIGHT = 540, SHEET_COLUMNS = 3, SHEET_ROWS = 4, LINES_MOST = 8 };

/* ---- settings ---------------------------------------------------------------------------------------------- */

static ex_world world = { .mode = RLLB_ENV_HONEST };
static int32_t traffic = RLLB_ENV_HIGH, steps = 100;
static uint64_t seed = 1;
static bool quiet;
static const char *policies_text, *models_text, *out = "out/visualize";

static ex_option options[] = {
    EX_HEADING("Who: one, or two side by side (default: least_load)"),
    EX_STRING("policy", &policies_text, "NAME,...",
              "round_robin, weighted_round_robin, least_load, sed, least_load_ahead, random, weighted_random"),
    EX_STRING("model", &models_text, "FILE,...", "model.safetensors of train"),
    EX_HEADING("World"),
    EX_CHOICE("env", &world.mode, ex_mode_names, "the cluster; given a model, that of the first one"),
    EX_CHOICE("traffic", &traffic, ex_traffic_names, "what arrives"),
    EX_STRING("trace", &world.trace_path, "FILE", "recorded load, two columns time and work; implies --traffic trace"),
    EX_LIST("rates", &world.rates, 1e-6, 1, "X,X,...", "work each server does in a step; as many servers"),
    EX_HEADING("Run"),
    EX_INT("steps", &steps, 1, 99999, "N", "steps, a frame each"),
    EX_SEED("seed", &seed, "of the traffic"),
    EX_STRING("out", &out, "DIR", "folder for the results; frames of an earlier run in it are removed"),
    EX_FLAG("quiet", &quiet, "no progress"),
};

static const char details[] =
    "Frames are 960 x 540 PNG pictures, frames/frame_0001.png and so on. As a video of 10 frames a second:\n"
    "\n"
    "    ffmpeg -framerate 10 -i out/visualize/frames/frame_%04d.png -pix_fmt yuv420p visualize.mp4\n"
    "\n"
    "In the published cluster (--env seed0) overload ends an episode; the next one begins in the step after.\n"
    "Ctrl-C leaves the frames that are done, and the pictures and files of the run so far.\n";

static ex_program program = { .name = "visualize", .summary = "shows balancing policies at work, a picture a step",
                              .details = details, .options = options, .option_count = EX_COUNT(options) };

/* ---- the run ----------------------------------------------------------------------------------------------- */

typedef struct moment {
    int32_t action;
    float arrival, dropped, reward;
    double total, lost, came; /* reward, dropped and arrived work so far */
    int32_t overloads;        /* steps so far */
    bool ended;               /* the world ended the episode */
} moment;

typedef struct take {
    ex_player player;
    char title[64];
    moment *at;          /* [steps] */
    float *full, *after; /* [steps][servers]: between arrival and drain; at the end of the step */
    rllb_stats load;     /* at the end of the steps */
} take;

typedef struct show {
    take takes[PLAYERS_MOST];
    char paths[PLAYERS_MOST][1024];
    int32_t count, servers, done; /* done: frames */
    double low, high;             /* of the rewards so far, over all of it */
    ex_canvas base, frame, sheet;
    int32_t pictures; /* in the contact sheet */
    double seconds;
} show;

static int add_players(show *s, const char *text, bool models)
{
    const char *at = text;
    char name[1024];

    while (at) {
        size_t length = strcspn(at, ",");
        take *t = &s->takes[s->count];
        snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), at);
        if (s->count == PLAYERS_MOST) return ex_usage(models ? "model" : "policy", "two in all can be shown, not more");
        if (models) {
            snprintf(s->paths[s->count], sizeof s->paths[0], "%s", name);
            if (!ex_player_model(&t->player, s->paths[s->count])) return EX_FAILED;
        } else {
            int32_t kind = rllb_policy_kind_of(name);
            const char *near = ex_nearest(name, ex_policy_names);
            if (kind < 0) {
                return ex_usage("policy", "'%.60s' is none%s%s%s; --help lists them", name,
                                near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
            }
            ex_player_classical(&t->player, (rllb_policy_kind)kind);
        }
        s->count++;
        at = at[length] ? at + length + 1 : NULL;
    }
    return EX_OK;
}

static void title_of(take *t)
{
    char *at;

    snprintf(t->title, sizeof t->title, "%s%s", t->player.path ? "trained: " : "", t->player.name);
    for (at = t->title; *at && !t->player.path; at++) {
        if (*at == '_') *at = ' ';
    }
}

static int open_show(show *s)
{
    int32_t i;
    int status = EX_OK;

    if (world.trace_path && !ex_option_given(&program, "traffic")) traffic = RLLB_ENV_TRACE;
    if ((traffic == RLLB_ENV_TRACE) != (world.trace_path != NULL)) {
        return ex_usage(world.trace_path ? "trace" : "traffic",
                        world.trace_path ? "has no use without --traffic trace" : "trace needs --trace FILE");
    }
    if (world.rates.count == 1) return ex_usage("rates", "a balancer needs two servers or more");
    if (models_text) status = add_players(s, models_text, true);
    if (status == EX_OK && policies_text) status = add_players(s, policies_text, false);
    if (status == EX_OK && s->count == 0) status = add_players(s, "least_load", false);
    if (status != EX_OK) return status;
    for (i = 0; i < s->count; i++) {
        title_of(&s->takes[i]);
        if (i == 0 && !ex_player_world(&s->takes[i].player, &world, ex_option_given(&program, "env"),
                                       ex_option_given(&program, "rates"))) {
            return EX_FAILED;
        }
    }
    if (!ex_world_open(&world)) return EX_FAILED;
    s->servers = world.servers;
    return EX_OK;
}

static bool play(show *s, take *t)
{
    rllb_env_cluster_desc d = ex_world_desc(&world, (rllb_env_traffic)traffic);
    size_t n = (size_t)s->servers;
    rllb_env_cluster *env;
    moment total = { 0 };
    uint8_t terminated, truncated;
    int32_t i, j;
    bool ok;

    d.horizon = steps;
    d.seed = seed;
    d.stream = EX_STREAM_JUDGE;
    d.auto_reset = true;
    env = rllb_env_cluster_create(&d);
    t->at = calloc((size_t)steps, sizeof *t->at);
    t->full = calloc((size_t)steps * n, sizeof *t->full);
    t->after = calloc((size_t)steps * n, sizeof *t->after);
    ok = env && t->at && t->full && t->after;
    if (!ok) ex_fail("out of memory for %d steps of %d servers", (int)steps, (int)s->servers);
    ok = ok && ex_player_open(&t->player, &world, env, seed);
    for (i = 0; i < steps && ok; i++) {
        moment *m = &t->at[i];
        m->action = ex_player_choose(&t->player, env);
        ok = rllb_env_cluster_step(env, &m->action, &m->reward, &terminated, &truncated) >= 0;
        m->arrival = rllb_env_cluster_arrival(env)[0];
        m->dropped = rllb_env_cluster_dropped(env)[0];
        m->ended = terminated != 0;
        rllb_env_cluster_loads(env, 0, t->full + (size_t)i * n);
        memcpy(t->after + (size_t)i * n, rllb_env_cluster_observe_next(env), n * sizeof *t->after);
        for (j = 0; j < s->servers; j++) rllb_stats_add(&t->load, (double)t->after[(size_t)i * n + (size_t)j]);
        m->total = total.total += (double)m->reward;
        m->lost = total.lost += (double)m->dropped;
        m->came = total.came += (double)m->arrival;
        m->overloads = total.overloads += m->dropped > 0;
        s->low = fmin(s->low, m->total);
        s->high = fmax(s->high, m->total);
    }
    rllb_env_cluster_destroy(env);
    return ok;
}

/* ---- a frame ----------------------------------------------------------------------------------------------- */

#define PENALTY EX_RGB(0xB7791Fu)
#define OVERLOAD EX_RGB(0xC0262Du)

static ex_rect rect(double x, double y, double width, double height)
{
    ex_rect r;

    r.x = x;
    r.y = y;
    r.width = width;
    r.height = height;
    return r;
}

static ex_color server_color(const show *s, int32_t i)
{
    return s->servers <= LINES_MOST ? ex_palette(i) : ex_ramp(0.1 + 0.75 * i / (s->servers - 1));
}

/* Where things are in the part of the frame that a policy has. */
typedef struct pane {
    ex_rect bars;              /* 0 to 1 of load between its bottom and `full` */
    double full, slot, bar;    /* y of load 1; width of a server's place, and of its bar */
    ex_rect curve, queue, mix; /* reward so far, last choices, shares of the choices */
    double figures;            /* y of the line of figures */
} pane;

static pane pane_of(const show *s, int32_t who)
{
    double left = s->count == 1 ? 0 : 480.0 * who;
    pane p;

    memset(&p, 0, sizeof p);
    if (s->count == 1) {
        p.bars = rect(58, 112, 476, 366);
        p.curve = rect(690, 164, 236, 116);
        p.queue = rect(640, 348, 286, 26);
        p.mix = rect(640, 424, 286, 18);
        p.figures = 468;
    } else {
        p.bars = rect(left + 50, 128, 344, 200);
        p.curve = rect(left + 74, 404, 130, 92);
        p.queue = rect(left + 232, 404, 228, 24);
        p.mix = rect(left + 232, 468, 228, 16);
        p.figures = 500;
    }
    p.full = p.bars.y + 30;
    p.slot = p.bars.width / s->servers;
    p.bar = fmin(0.62 * p.slot, 96);
    return p;
}

static double load_y(const pane *p, double load)
{
    return p->bars.y + p->bars.height - load * (p->bars.y + p->bars.height - p->full);
}

/* What no step changes. */
static void draw_base(show *s)
{
    ex_canvas *c = &s->base;
    char text[200], number[32];
    int32_t who, i, every = 1;

    snprintf(text, sizeof text, "%s cluster, %d servers, %s traffic", ex_mode_names[world.mode], (int)s->servers,
             ex_traffic_names[traffic]);
    ex_draw_text(c, 24, 22, 21, EX_BOLD, EX_TOP, EX_INK,
                 s->count == 1 ? s->takes[0].title : "Side by side, the same traffic");
    ex_draw_text(c, 24, 50, 15, EX_REGULAR, EX_TOP, EX_MUTED, text);
    if (s->count == 2) ex_draw_line(c, 480, 84, 480, HEIGHT - 20, 1, EX_GRID);
    while (s->servers / every > (s->count == 1 ? 20 : 12)) every++;
    for (who = 0; who < s->count; who++) {
        pane p = pane_of(s, who);
        double bottom = p.bars.y + p.bars.height, right = p.bars.x + p.bars.width;
        if (s->count == 2) ex_draw_text(c, p.bars.x - 26, 82, 17, EX_BOLD, EX_TOP, EX_INK, s->takes[who].title);
        ex_draw_text(c, p.bars.x - 26, p.bars.y - 18, 13, EX_REGULAR, EX_TOP, EX_MUTED, "load (share of full)");
        for (i = 0; i <= 5; i++) {
            double y = floor(load_y(&p, 0.2 * i)) + 0.5;
            snprintf(number, sizeof number, "%.1f", 0.2 * i);
            if (i < 5) ex_draw_line(c, p.bars.x, y, right, y, 1, i ? EX_GRID : EX_AXIS);
            ex_draw_text(c, p.bars.x - 7, y, 13, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED, number);
        }
        ex_draw_text(c, right + 6, load_y(&p, 1), 13, EX_BOLD, EX_MIDDLE, OVERLOAD, "overload");
        ex_draw_text(c, right + 6, load_y(&p, 0.8), 13, EX_REGULAR, EX_MIDDLE, PENALTY, "penalty");
        for (i = 0; i < s->servers; i += every) {
            double x = p.bars.x + (i + 0.5) * p.slot;
            snprintf(text, sizeof text, s->servers <= 5 ? "server %d" : "%d", (int)i + 1);
            ex_draw_text(c, x, bottom + 9, 14, EX_BOLD, EX_CENTER | EX_TOP, server_color(s, i), text);
            if (s->servers > 5) continue;
            snprintf(text, sizeof text, s->count == 1 ? "does %s a step" : "%s a step",
                     ex_number_float(world.rate[i], number));
            ex_draw_text(c, x, bottom + 28, 13, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED, text);
        }
        if (s->servers > 5) {
            ex_draw_text(c, p.bars.x + p.bars.width / 2, bottom + 28, 13, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED,
                         "server");
        }
        ex_draw_text(c, p.queue.x, p.queue.y - 20, 13, EX_REGULAR, EX_TOP, EX_MUTED,
                     "last choices (server), newest left");
        ex_draw_text(c, p.mix.x, p.mix.y - 20, 13, EX_REGULAR, EX_TOP, EX_MUTED, "choices so far (share by server)");
        ex_draw_line(c, p.curve.x, p.curve.y, p.curve.x, p.curve.y + p.curve.height, 1, EX_AXIS);
        ex_draw_line(c, p.curve.x, p.curve.y + p.curve.height, p.curve.x + p.curve.width, p.curve.y + p.curve.height, 1,
                     EX_AXIS);
        ex_draw_text(c, p.curve.x - 6, p.curve.y, 13, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED,
                     ex_tick_text(s->high, (s->high - s->low) / 4, number));
        ex_draw_text(c, p.curve.x - 6, p.curve.y + p.curve.height, 13, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED,
                     ex_tick_text(s->low, (s->high - s->low) / 4, number));
        snprintf(number, sizeof number, "%d", (int)steps);
        ex_draw_text(c, p.curve.x, p.curve.y + p.curve.height + 8, 13, EX_REGULAR, EX_TOP, EX_MUTED, "1");
        ex_draw_text(c, p.curve.x + p.curve.width / 2, p.curve.y + p.curve.height + 8, 13, EX_REGULAR,
                     EX_CENTER | EX_TOP, EX_MUTED, "step");
        ex_draw_text(c, p.curve.x + p.curve.width, p.curve.y + p.curve.height + 8, 13, EX_REGULAR, EX_RIGHT | EX_TOP,
                     EX_MUTED, number);
    }
}

static void draw_bars(show *s, const pane *p, const take *t, int32_t at)
{
    ex_canvas *c = &s->frame;
    const moment *m = &t->at[at];
    const float *load = t->full + (size_t)at * (size_t)s->servers;
    double bottom = p->bars.y + p->bars.height, right = p->bars.x + p->bars.width;
    ex_point line[2];
    char text[64];
    int32_t i;

    for (i = 0; i < s->servers; i++) {
        double x = p->bars.x + (i + 0.5) * p->slot, l = (double)load[i], top = load_y(p, l);
        ex_color color = server_color(s, i);
        bool chosen = i == m->action;
        double put = chosen ? fmin((double)(m->arrival - m->dropped), l) : 0;
        ex_draw_rect(c, rect(x - p->bar / 2, load_y(p, l - put), p->bar, bottom - load_y(p, l - put)),
                     ex_mix(EX_WHITE, color, 0.45));
        if (chosen) {
            ex_point arrow[3];
            double tip = p->bars.y + 10, wide = fmin(9, 0.4 * p->slot);
            ex_draw_rect(c, rect(x - p->bar / 2, top, p->bar, load_y(p, l - put) - top), color);
            arrow[0].x = x - wide;
            arrow[1].x = x + wide;
            arrow[2].x = x;
            arrow[0].y = arrow[1].y = tip - 11;
            arrow[2].y = tip;
            ex_draw_polygon(c, arrow, 3, color);
        }
        if (p->slot < 34) continue;
        snprintf(text, sizeof text, "%.2f", l);
        if (l > 0.12) {
            ex_rect behind = rect(x - ex_text_width(14, EX_BOLD, text) / 2 - 4, bottom - 22, 0, 18);
            behind.width = 2 * (x - behind.x);
            ex_draw_round_rect(c, behind, 4, ex_alpha(EX_WHITE, 0.75));
        }
        ex_draw_text(c, x, l > 0.12 ? bottom - 8 : top - 6, 14, EX_BOLD, EX_CENTER | EX_BASELINE, EX_INK, text);
    }
    line[0].x = p->bars.x;
    line[1].x = right;
    line[0].y = line[1].y = floor(load_y(p, 1)) + 0.5;
    ex_draw_polyline(c, line, 2, 2, EX_SOLID, OVERLOAD);
    line[0].y = line[1].y = floor(load_y(p, 0.8)) + 0.5;
    ex_draw_polyline(c, line, 2, 1.5, EX_DASHED, PENALTY);
    if (m->dropped > 0) {
        double x = p->bars.x + (m->action + 0.5) * p->slot, half = ex_text_width(14, EX_BOLD, "0.000 dropped") / 2 + 6;
        x = fmin(fmax(x, p->bars.x + half), right - half);
        snprintf(text, sizeof text, m->dropped < 0.0995f ? "%.3f dropped" : "%.2f dropped", (double)m->dropped);
        ex_draw_round_rect(c, rect(x - half, p->full - 20, 2 * half, 19), 4, OVERLOAD);
        ex_draw_text(c, x, p->full - 10, 14, EX_BOLD, EX_CENTER | EX_MIDDLE, EX_WHITE, text);
    }
}

static void draw_queue(show *s, const pane *p, const take *t, int32_t at)
{
    ex_canvas *c = &s->frame;
    double side = p->queue.height, gap = 5, x = p->queue.x;
    int32_t k, i, *counts = NULL;
    char text[16];

    for (k = at; k >= 0 && x + side <= p->queue.x + p->queue.width + 0.5; k--, x += side + gap) {
        double fade = 1 - 0.75 * (x - p->queue.x) / p->queue.width;
        int32_t a = t->at[k].action;
        ex_color color = ex_mix(EX_WHITE, server_color(s, a), fade);
        bool light = 3 * (color >> 16 & 255) + 6 * (color >> 8 & 255) + (color & 255) > 1500;
        ex_draw_round_rect(c, rect(x, p->queue.y, side, side), 5, color);
        snprintf(text, sizeof text, "%d", (int)a + 1);
        ex_draw_text(c, x + side / 2, p->queue.y + side / 2, 14, EX_BOLD, EX_CENTER | EX_MIDDLE,
                     light ? EX_INK : EX_WHITE, text);
        if (t->at[k].dropped > 0) ex_draw_rect(c, rect(x, p->queue.y + side + 3, side, 3), OVERLOAD);
    }
    counts = calloc((size_t)s->servers, sizeof *counts);
    if (!counts) return;
    for (k = 0; k <= at; k++) counts[t->at[k].action]++;
    for (i = 0, x = p->mix.x; i < s->servers; i++) {
        double wide = p->mix.width * counts[i] / (at + 1);
        ex_draw_rect(c, rect(x, p->mix.y, wide, p->mix.height), server_color(s, i));
        snprintf(text, sizeof text, "%d %%", (int)(100.0 * counts[i] / (at + 1) + 0.5));
        if (wide > ex_text_width(13, EX_BOLD, text) + 4) {
            ex_draw_text(c, x + wide / 2, p->mix.y + p->mix.height / 2, 13, EX_BOLD, EX_CENTER | EX_MIDDLE, EX_WHITE,
                         text);
        }
        x += wide;
    }
    free(counts);
}

static void draw_reward(show *s, const pane *p, const take *t, int32_t at)
{
    ex_canvas *c = &s->frame;
    const moment *m = &t->at[at];
    ex_point *points = calloc((size_t)at + 1, sizeof *points);
    double span = s->high > s->low ? s->high - s->low : 1;
    char text[160], number[32];
    int32_t k;

    for (k = 0; k <= at && points; k++) {
        points[k].x = p->curve.x + p->curve.width * (steps > 1 ? (double)k / (steps - 1) : 0);
        points[k].y = p->curve.y + p->curve.height * (s->high - t->at[k].total) / span;
    }
    if (points) {
        ex_draw_polyline(c, points, at + 1, 2, EX_SOLID, EX_INK);
        ex_draw_circle(c, points[at].x, points[at].y, 3.5, m->ended || m->dropped > 0 ? OVERLOAD : EX_INK);
    }
    free(points);
    snprintf(text, sizeof text, "reward so far %s", ex_tick_text(m->total, 0.1, number));
    ex_draw_text(c, s->count == 1 ? 640 : p->curve.x - 50, p->curve.y - (s->count == 1 ? 52 : 22),
                 s->count == 1 ? 20 : 14, EX_BOLD, EX_TOP, EX_INK, text);
    if (s->count == 1) {
        snprintf(text, sizeof text, "%.2f in this step, in which %.2f of work came", (double)m->reward,
                 (double)m->arrival);
        ex_draw_text(c, 640, p->curve.y - 26, 13, EX_REGULAR, EX_TOP, EX_MUTED, text);
    }
    snprintf(text, sizeof text,
             s->count == 1 ? "overloads: %d, dropped: %.1f %% of the work" : "overloads: %d, dropped: %.1f %%",
             (int)m->overloads, m->came > 0 ? 100 * m->lost / m->came : 0);
    ex_draw_text(c, p->mix.x, p->figures, 14, EX_REGULAR, EX_MIDDLE, m->overloads ? OVERLOAD : EX_TEXT, text);
    if (m->ended) {
        ex_draw_text(c, p->mix.x, p->figures + 21, 14, EX_BOLD, EX_MIDDLE, OVERLOAD, "the overload ends the episode");
    }
}

static void draw_frame(show *s, int32_t at)
{
    char text[64];
    int32_t who;

    memcpy(s->frame.rgb, s->base.rgb, (size_t)WIDTH * HEIGHT * 3);
    snprintf(text, sizeof text, "step %d of %d", (int)at + 1, (int)steps);
    ex_draw_text(&s->frame, WIDTH - 24, 22, 21, EX_BOLD, EX_RIGHT | EX_TOP, EX_INK, text);
    for (who = 0; who < s->count; who++) {
        pane p = pane_of(s, who);
        draw_bars(s, &p, &s->takes[who], at);
        draw_queue(s, &p, &s->takes[who], at);
        draw_reward(s, &p, &s->takes[who], at);
    }
}

/* ---- frames and contact sheet ------------------------------------------------------------------------------ */

/* frame_0001.png, and longer numbers; also what a writer that was killed left of one. */
static bool is_frame(const char *name)
{
    size_t digits;

    if (strncmp(name, "frame_", 6) != 0) return false;
    digits = strspn(name + 6, "0123456789");
    if (digits < 4) return false;
    return strcmp(name + 6 + digits, ".png") == 0 ||
           (strncmp(name + 6 + digits, ".png.", 5) == 0 && strstr(name + 6 + digits, ".part"));
}

/* Frames of a longer run would stay behind this one's and mix with them. */
static bool remove_frames(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    bool ok = true;

    if (!d) {
        ex_fail("cannot look into the folder %s", folder);
        return false;
    }
    while (ok && (entry = readdir(d)) != NULL) {
        ex_path path = ex_path_join(folder, entry->d_name);
        if (!is_frame(entry->d_name) || unlink(path.text) == 0) continue;
        ex_fail("cannot remove %s of an earlier run", path.text);
        ok = false;
    }
    closedir(d);
    return ok;
}

enum { SHEET_WIDTH = 640, SHEET_HEIGHT = 360, SHEET_GAP = 16, SHEET_TOP = 84 };

/* Which step the k-th picture of the sheet shows: the first, the last, and evenly between. */
static int32_t sheet_step(const show *s, int32_t k)
{
    return s->pictures > 1 ? (int32_t)((int64_t)k * (steps - 1) / (s->pictures - 1)) : 0;
}

static void sheet_open(show *s)
{
    char text[300];

    ex_draw_text(&s->sheet, SHEET_GAP + 8, 20, 26, EX_BOLD, EX_TOP, EX_INK,
                 s->count == 1 ? s->takes[0].title : "Side by side");
    snprintf(text, sizeof text, "%s%s%s%s%s cluster, %s traffic, %d of %d steps, seed %llu",
             s->count == 2 ? s->takes[0].title : "", s->count == 2 ? " and " : "",
             s->count == 2 ? s->takes[1].title : "", s->count == 2 ? ": " : "", ex_mode_names[world.mode],
             ex_traffic_names[traffic], (int)s->pictures, (int)steps, (unsigned long long)seed);
    ex_draw_text(&s->sheet, SHEET_GAP + 8, 54, 17, EX_REGULAR, EX_TOP, EX_MUTED, text);
}

static void sheet_add(show *s, int32_t at)
{
    int32_t k;

    for (k = 0; k < s->pictures; k++) {
        ex_rect r = rect(SHEET_GAP + k % SHEET_COLUMNS * (SHEET_WIDTH + SHEET_GAP),
                         SHEET_TOP + k / SHEET_COLUMNS * (SHEET_HEIGHT + SHEET_GAP), SHEET_WIDTH, SHEET_HEIGHT);
        if (sheet_step(s, k) != at) continue;
        ex_draw_picture(&s->sheet, r, &s->frame);
        ex_draw_frame(&s->sheet, r, 1, EX_AXIS);
    }
}

static bool draw_frames(show *s)
{
    ex_path folder = ex_path_join(out, "frames");
    int32_t sheet_rows, i;
    double begin_s = ex_clock_s();
    ex_progress bar;
    char name[64];

    s->pictures = steps < SHEET_COLUMNS * SHEET_ROWS ? steps : SHEET_COLUMNS * SHEET_ROWS;
    sheet_rows = (s->pictures + SHEET_COLUMNS - 1) / SHEET_COLUMNS;
    if (!ex_folder_make(folder.text) || !remove_frames(folder.text)) return false;
    if (!ex_canvas_create(&s->base, WIDTH, HEIGHT) || !ex_canvas_create(&s->frame, WIDTH, HEIGHT) ||
        !ex_canvas_create(&s->sheet, SHEET_GAP + SHEET_COLUMNS * (SHEET_WIDTH + SHEET_GAP),
                          SHEET_TOP + sheet_rows * (SHEET_HEIGHT + SHEET_GAP))) {
        return false;
    }
    draw_base(s);
    sheet_open(s);
    ex_progress_start(&bar, "drawing", steps, quiet);
    for (i = 0; i < steps && !ex_interrupted(); i++) {
        draw_frame(s, i);
        snprintf(name, sizeof name, "frame_%04d.png", (int)i + 1);
        if (!ex_canvas_write_png_fast(&s->frame, ex_path_join(folder.text, name).text)) return false;
        sheet_add(s, i);
        s->done = i + 1;
        ex_progress_step(&bar, i + 1, "frame %d", (int)i + 1);
    }
    s->seconds = ex_clock_s() - begin_s;
    ex_progress_end(&bar, "drew %d frames", (int)s->done);
    return ex_canvas_write_png(&s->sheet, ex_path_join(out, "contact_sheet.png").text);
}

/* ---- summary ----------------------------------------------------------------------------------------------- */

/* What the charts of one policy point at. */
typedef struct chart_data {
    double *x, *load, *total; /* [steps]; load: [servers][steps] */
    char names[LINES_MOST][16], titles[3][100];
    char (*labels)[12];
    const char **rows, **columns;
    ex_series lines[LINES_MOST], reward;
    ex_line_chart loads, rewards;
    ex_heat_map heat;
    const show *of;
    const take *take;
} chart_data;

static void chart_free(chart_data *d)
{
    free(d->x);
    free(d->load);
    free(d->total);
    free(d->labels);
    free(d->rows);
    free(d->columns);
}

static bool chart_of(const show *s, int32_t who, chart_data *d)
{
    const take *t = &s->takes[who];
    size_t n = (size_t)s->servers, count = (size_t)s->done;
    static const ex_reference lines[2] = { { "overload", 1, OVERLOAD, EX_LONG_DASH },
                                           { "penalty", 0.8, PENALTY, EX_DASHED } };
    int32_t i, k;
    bool few = s->servers <= LINES_MOST;

    memset(d, 0, sizeof *d);
    d->x = calloc(count, sizeof(double));
    d->load = calloc(count * n, sizeof(double));
    d->total = calloc(count, sizeof(double));
    d->labels = calloc(n + count, sizeof *d->labels);
    d->rows = calloc(n, sizeof *d->rows);
    d->columns = calloc(count, sizeof *d->columns);
    if (!d->x || !d->load || !d->total || !d->labels || !d->rows || !d->columns) return false;
    for (k = 0; k < s->done; k++) {
        d->x[k] = k + 1;
        d->total[k] = t->at[k].total;
        for (i = 0; i < s->servers; i++) {
            d->load[(size_t)i * count + (size_t)k] = (double)t->full[(size_t)k * n + (size_t)i];
        }
    }
    snprintf(d->titles[0], sizeof d->titles[0], "%s: load", t->title);
    snprintf(d->titles[1], sizeof d->titles[1], "%s: choices", t->title);
    snprintf(d->titles[2], sizeof d->titles[2], "%s: reward so far %.1f", t->title, t->at[s->done - 1].total);
    for (i = 0; i < s->servers && few; i++) {
        snprintf(d->names[i], sizeof d->names[i], "server %d", (int)i + 1);
        d->lines[i].name = d->names[i];
        d->lines[i].x = d->x;
        d->lines[i].y = d->load + (size_t)i * count;
        d->lines[i].count = s->done;
        d->lines[i].color = server_color(s, i);
        d->lines[i].dash = (ex_dash)(i % EX_DASH_NUM);
        d->lines[i].width = 1.75;
    }
    d->loads.title = d->titles[0];
    d->loads.series = d->lines;
    d->loads.y.label = "load before the drain (share of full)";
    d->loads.y.high = 1.05;
    d->loads.references = lines;
    d->loads.reference_count = 2;
    d->loads.series_count = s->servers;
    d->reward.x = d->x;
    d->reward.y = d->total;
    d->reward.count = s->done;
    d->reward.color = EX_INK;
    d->rewards.title = d->titles[2];
    d->rewards.series = &d->reward;
    d->rewards.series_count = 1;
    d->rewards.y.label = "sum of rewards";
    d->rewards.y.low = s->low;
    d->rewards.y.high = s->high > s->low ? s->high : s->low + 1;
    d->loads.x.label = d->rewards.x.label = "step";
    d->loads.x.low = d->rewards.x.low = 0.5;
    d->loads.x.high = d->rewards.x.high = s->done + 0.5;
    for (i = 0; i < s->servers; i++) {
        snprintf(d->labels[i], sizeof d->labels[i], "%d", (int)i + 1);
        d->rows[i] = d->labels[i];
    }
    for (k = 0; k < s->done; k++) {
        snprintf(d->labels[n + (size_t)k], sizeof d->labels[0], "%d", (int)k + 1);
        d->columns[k] = d->labels[n + (size_t)k];
    }
    d->heat.title = d->titles[0];
    d->heat.value_label = "load before the drain (share of full)";
    d->heat.values = d->load;
    d->heat.x_label = "step";
    d->heat.y_label = "server";
    d->heat.rows = d->rows;
    d->heat.columns = d->columns;
    d->heat.row_count = s->servers;
    d->heat.column_count = s->done;
    d->heat.high = 1;
    d->heat.value_format = "";
    d->of = s;
    d->take = t;
    return true;
}

/* The choices as a raster: a row a server, a column a step; a red mark above where work was dropped. */
static void draw_raster(void *user, ex_canvas *c, ex_rect area)
{
    const chart_data *d = user;
    const show *s = d->of;
    double left = area.x + 62, right = area.x + area.width - 22, top = area.y + 74, bottom = area.y + area.height - 62;
    double row = (bottom - top) / s->servers, column = (right - left) / s->done, ticks[EX_TICKS_MAX], step;
    int32_t i, k, count, every = 1;
    char text[32];

    ex_draw_text(c, area.x + 18, area.y + 12, 20, EX_BOLD, EX_TOP, EX_INK, d->titles[1]);
    ex_draw_text(c, area.x + 18, area.y + 42, 14.5, EX_REGULAR, EX_TOP, EX_MUTED,
                 "server chosen (number), red: work dropped");
    while (row * every < 20) every++;
    for (i = 0; i < s->servers; i++) {
        double y = top + i * row;
        ex_draw_rect(c, rect(left, y + 0.5, right - left, row - 1), i % 2 ? EX_WHITE : EX_RGB(0xF4F6F8u));
        if (i % every) continue;
        ex_draw_text(c, left - 10, y + row / 2, 14.5, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_TEXT, d->labels[i]);
    }
    for (k = 0; k < s->done; k++) {
        double x = left + k * column, wide = column > 4 ? column - 1 : column;
        i = d->take->at[k].action;
        ex_draw_rect(c, rect(x, top + i * row + 0.08 * row, wide, 0.84 * row), server_color(s, i));
        if (d->take->at[k].dropped > 0) ex_draw_rect(c, rect(x, top - 8, wide, 6), OVERLOAD);
    }
    ex_draw_line(c, left, bottom, right, bottom, 1, EX_AXIS);
    count = ex_ticks(0.5, s->done + 0.5, (int32_t)((right - left) / 90), true, ticks, &step);
    for (k = 0; k < count; k++) {
        double x = left + (ticks[k] - 0.5) * column;
        ex_draw_text(c, x, bottom + 10, 14.5, EX_REGULAR, EX_CENTER | EX_TOP, EX_TEXT,
                     ex_tick_text(ticks[k], step, text));
    }
    ex_draw_text(c, (left + right) / 2, bottom + 34, 14.5, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED, "step");
}

static bool draw_summary(const show *s)
{
    static chart_data data[PLAYERS_MOST];
    ex_panel panels[3 * PLAYERS_MOST];
    ex_figure figure = { 0 };
    char title[200], note[200];
    int32_t who;
    bool ok = true, few = s->servers <= LINES_MOST;

    memset(panels, 0, sizeof panels);
    for (who = 0; who < s->count && ok; who++) {
        ok = chart_of(s, who, &data[who]);
        if (few) panels[who].line = &data[who].loads;
        else panels[who].heat = &data[who].heat;
        panels[s->count + who].draw = draw_raster;
        panels[s->count + who].user = &data[who];
        panels[2 * s->count + who].line = &data[who].rewards;
    }
    snprintf(title, sizeof title, "%s cluster, %s traffic: %d steps of %d servers", ex_mode_names[world.mode],
             ex_traffic_names[traffic], (int)s->done, (int)s->servers);
    title[0] = (char)(title[0] >= 'a' && title[0] <= 'z' ? title[0] - 'a' + 'A' : title[0]);
    snprintf(note, sizeof note, "Above a load of 0.8 a step costs reward; above 1 work is dropped%s.",
             world.mode == RLLB_ENV_SEED0 ? ", and the episode ends: all servers start anew, empty" : "");
    figure.title = title;
    figure.note = note;
    figure.panels = panels;
    figure.panel_count = 3 * s->count;
    figure.columns = s->count;
    if (!ok) ex_fail("out of memory for the summary");
    else ok = ex_figure_write(&figure, s->count == 1 ? 1200 : 1800, 1240, ex_path_join(out, "summary.png").text);
    for (who = 0; who < s->count; who++) chart_free(&data[who]);
    return ok;
}

/* ---- files ------------------------------------------------------------------------------------------------- */

static bool write_log(const show *s, int32_t who)
{
    const take *t = &s->takes[who];
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    char name[32];
    int32_t k, i;
    bool ok;

    ex_text_printf(&text, "step");
    for (i = 0; i < s->servers; i++) ex_text_printf(&text, ",server_%d", (int)i + 1);
    ex_text_printf(&text, ",action,arrival,dropped,reward,reward_so_far\n");
    for (k = 0; k < s->done; k++) {
        const moment *m = &t->at[k];
        ex_csv_int(&csv, k + 1);
        for (i = 0; i < s->servers; i++) ex_csv_float(&csv, t->after[(size_t)k * (size_t)s->servers + (size_t)i]);
        ex_csv_int(&csv, m->action + 1);
        ex_csv_float(&csv, m->arrival);
        ex_csv_float(&csv, m->dropped);
        ex_csv_float(&csv, m->reward);
        ex_csv_double(&csv, m->total);
        ex_csv_row(&csv);
    }
    snprintf(name, sizeof name, "log_%d.csv", (int)who + 1);
    ok = ex_text_write(&text, ex_path_join(out, name).text);
    ex_text_free(&text);
    return ok;
}

static bool write_json(const show *s)
{
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t who, i, k;
    bool ok;

    ex_json_object(&j, NULL);
    ex_json_string(&j, "program", "visualize");
    ex_json_string(&j, "version", RLLB_VERSION_STRING);
    ex_json_uint(&j, "seed", seed);
    ex_json_object(&j, "settings");
    ex_json_string(&j, "env", ex_mode_names[world.mode]);
    ex_json_string(&j, "traffic", ex_traffic_names[traffic]);
    ex_json_string(&j, "trace", world.trace_path);
    ex_json_row_array(&j, "rates");
    for (i = 0; i < s->servers; i++) ex_json_float(&j, NULL, world.rate[i]);
    ex_json_end(&j);
    ex_json_int(&j, "steps", steps);
    ex_json_end(&j);
    ex_json_double(&j, "seconds", s->seconds);
    ex_json_int(&j, "frames", s->done);
    ex_json_bool(&j, "complete", s->done == steps);
    ex_json_array(&j, "results");
    for (who = 0; who < s->count; who++) {
        const take *t = &s->takes[who];
        const moment *last = &t->at[s->done - 1];
        int32_t ended = 0;
        for (k = 0; k < s->done; k++) ended += t->at[k].ended;
        ex_json_object(&j, NULL);
        ex_json_string(&j, "policy", t->player.name);
        ex_json_string(&j, "model", t->player.path);
        ex_json_double(&j, "reward", last->total);
        ex_json_int(&j, "overloads", last->overloads);
        ex_json_int(&j, "episodes_ended", ended);
        ex_json_double(&j, "dropped_share", last->came > 0 ? last->lost / last->came : 0);
        ex_json_double(&j, "mean_load", t->load.mean);
        ex_json_double(&j, "greatest_load", t->load.greatest);
        ex_json_row_array(&j, "choices");
        for (i = 0; i < s->servers; i++) {
            int64_t count = 0;
            for (k = 0; k < s->done; k++) count += t->at[k].action == i;
            ex_json_int(&j, NULL, count);
        }
        ex_json_end(&j);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text);
    ex_text_free(&text);
    return ok;
}

static void print(const show *s)
{
    ex_table table = { 0 };
    int32_t who;

    ex_table_cell(&table, "%s traffic, %d steps", ex_traffic_names[traffic], (int)s->done);
    ex_table_cell(&table, "reward");
    ex_table_cell(&table, "overloads");
    ex_table_cell(&table, "dropped %%");
    ex_table_row(&table);
    for (who = 0; who < s->count; who++) {
        const moment *last = &s->takes[who].at[s->done - 1];
        ex_table_cell(&table, "%s", s->takes[who].player.name);
        ex_table_cell(&table, "%.2f", last->total);
        ex_table_cell(&table, "%d", (int)last->overloads);
        ex_table_cell(&table, "%.2f", last->came > 0 ? 100 * last->lost / last->came : 0);
        ex_table_row(&table);
    }
    ex_table_print(&table, stdout);
    ex_table_free(&table);
    printf("\n%d frames in %s/frames; one run says little about a policy: stress_test judges over many.\n",
           (int)s->done, out);
}

/* ---- main -------------------------------------------------------------------------------------------------- */

static void show_close(show *s)
{
    int32_t who;

    for (who = 0; who < s->count; who++) {
        ex_player_close(&s->takes[who].player);
        free(s->takes[who].at);
        free(s->takes[who].full);
        free(s->takes[who].after);
    }
    ex_canvas_free(&s->base);
    ex_canvas_free(&s->frame);
    ex_canvas_free(&s->sheet);
    ex_world_close(&world);
}

int main(int argc, char **argv)
{
    static show s;
    ex_lock lock;
    int32_t who;
    int status = ex_options_parse(&program, argc, argv);
    bool ok;

    if (status != EX_GO_ON) return status;
    ex_catch_interrupts();
    status = open_show(&s);
    ok = status == EX_OK;
    for (who = 0; who < s.count && ok; who++) ok = play(&s, &s.takes[who]);
    if (ok && ex_folder_lock(out, &lock)) {
        ok = draw_frames(&s);
        if (ok && s.done > 0) {
            ok = draw_summary(&s) && write_json(&s);
            for (who = 0; who < s.count && ok; who++) ok = write_log(&s, who);
            if (ok) print(&s);
        }
        ex_folder_unlock(&lock);
    } else {
        ok = false;
    }
    if (status == EX_OK) status = !ok ? EX_FAILED : ex_interrupted() ? ex_interrupt_status() : EX_OK;
    show_close(&s);
    return status;
}
