/* marl_teach.c - what the simulator knows and a balancer does not, as a lesson: servers' capacities from how flows fare

   Shows learning with privileged information: in random worlds the model balances by itself, from weights that say
   nothing, and at many of its decisions the simulator notes how far each weight is from its server's true capacity.
   From these notes the network learns, by gradient descent, to make the step that would put it right, as far as what it
   sees tells; then it balances anew, and better, and other mistakes are noted (Ross et al. 2011, DAgger). What sets d,
   a and gamma is kept as it is: marl_search finds that.

   Build:   make build/marl_teach
   Run:     build/marl_teach                              a model that knows nothing yet
            build/marl_teach --from MODEL --rounds 20     goes on with one
   Prints:  how far weights are from capacities, and how the model fares beside SED that is told them
   Writes:  model.safetensors (for simulate, marl_eval and marl_search), curve.csv, curve.png

   The same settings and seed give the same files, whatever the number of processes. */

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "marl.h"
#include "pool.h"
#include "sites.h"
#include "worlds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* ---- settings ------------------------------------------------------------------------------------------------ */

enum { SERVERS_MOST = 24, GLOBALS = 6, PER_SERVER = 9, COMMON = 3, NOTES_MOST = 400, ROUNDS_KEPT = 4, BATCH = 64 };

static int32_t rounds = 30, worlds = 64, updates = 600, hidden = 24, jobs;
static double gain = 0.4, rate_of_learning = 0.002, flows = 30000, ticks = 60000, eventful = 0.7;
static uint64_t seed = 1;
static const char *from, *out = "out/marl_teach";
static bool quiet;

static ex_option options[] = {
    EX_HEADING("What is taught"),
    EX_STRING("from", &from, "MODEL", "go on with this model, of the same shape"),
    EX_INT("hidden", &hidden, 1, 256, "N", "width of both hidden layers"),
    EX_DOUBLE("gain", &gain, 1e-3, 1, "X", "share of its distance, in logarithms, that a weight is to go in a step"),
    EX_HEADING("Worlds"),
    EX_INT("rounds", &rounds, 1, 100000, "N", "how often it balances and then learns"),
    EX_INT("worlds", &worlds, 1, 4096, "N", "a round"),
    EX_DOUBLE("flows", &flows, 100, 3e5, "X", "of a world; each is 1 to 6 times that long"),
    EX_DOUBLE("ticks", &ticks, 100, 1e8, "X", "decisions of a world, of all balancers for all servers, at most; 1 to "
                                              "6 times that"),
    EX_DOUBLE("eventful", &eventful, 0, 1, "X", "share of the worlds in which a server slows down, fails or heals, or "
                                                "the rate changes"),
    EX_HEADING("Learning"),
    EX_INT("updates", &updates, 1, 1000000, "N", "of 64 notes each, after each round, from those of the last four"),
    EX_DOUBLE("lr", &rate_of_learning, 1e-7, 1, "X", "Adam's step"),
    EX_SEED("seed", &seed, "of worlds, notes and the first model"),
    EX_HEADING("How it is run"),
    EX_INT("jobs", &jobs, 0, 4096, "N", "processes at a time; 0: one for every processor"),
    EX_STRING("out", &out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &quiet, "no progress, no summary"),
};

static const char details[] =
    "Writes model.safetensors, curve.csv and curve.png: at the end, and on Ctrl-C, when the round that goes on is\n"
    "given up.\n";

static ex_program program = { .name = "marl_teach", .summary = "teaches a balancing model what servers can do",
                              .details = details, .options = options, .option_count = EX_COUNT(options) };

/* ---- notes ----------------------------------------------------------------------------------------------------- */

/* One decision: what was seen, by how much (in logarithms) each weight falls short of its server's capacity, both over
   their geometric means, and what the model said of d, a and gamma. */
typedef struct note {
    int32_t servers;
    float seen[GLOBALS + PER_SERVER * SERVERS_MOST];
    float short_of[SERVERS_MOST], common[COMMON];
} note;

/* What the processes of a round share: notes and figures by world, so that it is the same who computed which. */
typedef struct board {
    int32_t next; /* world: the first that nobody has taken */
    int32_t spare;
} board;

typedef struct figure {
    double learned, told; /* logarithm of the mean duration after the first part: the model's, SED's */
} figure;

typedef struct row {
    double round, beside;  /* from 1; mean of learned - told */
    double distance, left; /* rms of short_of, and of what of it was not seen */
} row;

typedef struct school {
    rllb_nn_policy *policy;
    rllb_nn_policy_desc p;
    ex_model_info info;
    rllb_nn_opt *opt;
    rllb_nn_work *work;
    float *x, *y, *dy, *gradient; /* [BATCH] rows each */
    int32_t outputs;              /* numbers of a row of y */
    row *rows;                    /* [rounds] */
    int32_t round, workers;
    board *board;
    figure *figures;  /* [worlds] */
    int32_t *noted;   /* [ROUNDS_KEPT][worlds] */
    note *notes;      /* [ROUNDS_KEPT][worlds][NOTES_MOST] */
    size_t shared_bytes;
    ex_pool pool;
    ex_progress bar;
    ex_lock *lock;
} school;

static int32_t *noted_of(const school *h, int32_t round, int32_t world)
{
    return &h->noted[round % ROUNDS_KEPT * worlds + world];
}

static note *notes_of(const school *h, int32_t round, int32_t world)
{
    return h->notes + (size_t)(round % ROUNDS_KEPT * worlds + world) * NOTES_MOST;
}

/* ---- a world --------------------------------------------------------------------------------------------------- */

#define WORLD_STREAM ((uint64_t)2 << 32) /* of the seed's streams: others than the search's */
#define FIRST_PART 0.4

typedef struct pupil {
    rllb_nn_policy *policy;
    const rllb_nn_policy_desc *p;
    rllb_env_flows *world;
    rllb_rng rng;
    double share; /* of its decisions that are noted */
    note *notes;
    int32_t noted;
    double apart_s, sum; /* durations of flows that arrive from then on */
    int64_t count;
} pupil;

static float middle(const float range[2], float value)
{
    return 2 * logf(value / range[0]) / logf(range[1] / range[0]) - 1;
}

static void take_note(pupil *u, const float *seen, int32_t servers, const float *form)
{
    float state[RLLB_ENV_FLOWS_STATE * EX_WORLD_SERVERS];
    note *n = &u->notes[u->noted++];
    double mean = 0;
    int32_t j;

    rllb_env_flows_state(u->world, state);
    memset(n, 0, sizeof *n);
    n->servers = servers;
    memcpy(n->seen, seen, (size_t)(GLOBALS + PER_SERVER * servers) * sizeof *seen);
    for (j = 0; j < servers; j++) { /* what it does per second now; one that stands still is a very slow one */
        n->short_of[j] = logf(fmaxf(state[RLLB_ENV_FLOWS_STATE * j + 3], 1e-3f));
        mean += (double)n->short_of[j] / servers;
    }
    for (j = 0; j < servers; j++) {
        float weight = seen[GLOBALS + PER_SERVER * j + 4]; /* logarithm, over the geometric mean */
        n->short_of[j] = fminf(3, fmaxf(-3, n->short_of[j] - (float)mean - weight));
    }
    for (j = 0; j < COMMON; j++) n->common[j] = middle(u->p->common[j], form[j]);
}

/* An rllb_control_fn: the policy itself, watched. */
static void watched(void *self, const float *seen, int32_t numbers, float *action, int32_t actions)
{
    pupil *u = self;
    int32_t servers = actions - COMMON;

    rllb_nn_policy_control(u->policy, seen, numbers, action, actions);
    if (u->noted < NOTES_MOST && servers <= SERVERS_MOST && rllb_rng_double(&u->rng) < u->share) {
        take_note(u, seen, servers, action + servers);
    }
}

static void hear(void *user, const rllb_env_flow *f)
{
    pupil *u = user;

    if (f->arrived_s < u->apart_s) return;
    u->sum += f->fate == RLLB_ENV_COMPLETED ? f->ended_s - f->arrived_s : 3 * fmax(1, f->ended_s - f->arrived_s);
    u->count++;
}

/* Two thirds of the worlds begin with weights that say nothing, others with wrong ones, or with the CPUs alone. */
static void draw_world(const school *h, int32_t which, ex_world_drawn *w)
{
    ex_world_limits l = ex_world_limits_default;
    double longer, beginning, alone;
    rllb_rng rng;
    int32_t j;

    rllb_rng_init(&rng, seed, WORLD_STREAM + (uint64_t)h->round * (uint64_t)worlds + (uint64_t)which);
    longer = pow(6, rllb_rng_double(&rng));
    alone = rllb_rng_double(&rng);
    beginning = rllb_rng_double(&rng);
    l.servers[1] = SERVERS_MOST;
    l.eventful = eventful;
    l.flows_max = flows * longer;
    l.ticks_max = ticks * longer;
    l.balancers[1] = alone < 0.35 ? 1 : 128;
    ex_world_draw(&l, rllb_rng_u64(&rng), w);
    w->desc.flows_max = 16384;
    w->desc.stream = EX_MARL_STREAM;
    for (j = 0; j < w->desc.count; j++) {
        if (beginning < 0.2) w->servers[j].weight = (float)exp(0.7 * rllb_rng_normal(&rng));
        else if (beginning < 0.35) w->servers[j].weight = (float)w->servers[j].cpus;
    }
}

/* The logarithm of the mean duration; NaN: no memory, said. */
static double run(pupil *u, const ex_world_drawn *w)
{
    u->world = rllb_env_flows_create(&w->desc);
    if (!u->world) {
        ex_fail("no memory for a world of %d servers", (int)w->desc.count);
        return (double)NAN;
    }
    u->apart_s = FIRST_PART * w->duration_s;
    u->sum = 0;
    u->count = 0;
    rllb_env_flows_listen(u->world, hear, u);
    rllb_env_flows_run(u->world, w->duration_s);
    rllb_env_flows_destroy(u->world);
    return u->count ? log(u->sum / (double)u->count) : 0;
}

static bool lesson(school *h, int32_t which)
{
    ex_world_drawn w;
    pupil u;
    int32_t j;

    memset(&u, 0, sizeof u);
    draw_world(h, which, &w);
    u.policy = h->policy;
    u.p = &h->p;
    u.notes = notes_of(h, h->round, which);
    u.share = NOTES_MOST / (w.duration_s / w.desc.step_s * w.desc.balancers);
    rllb_rng_init(&u.rng, w.desc.seed, 1);
    ex_model_info_apply(&h->info, &w.desc.balancer);
    w.desc.balancer.policy = RLLB_BALANCE_LEARNED;
    w.desc.balancer.control = watched;
    w.desc.balancer.control_self = &u;
    h->figures[which].learned = run(&u, &w);
    *noted_of(h, h->round, which) = u.noted;

    rllb_balancer_desc_default(&w.desc.balancer);
    w.desc.balancer.policy = RLLB_BALANCE_SED;
    for (j = 0; j < w.desc.count; j++) w.servers[j].weight = (float)w.servers[j].cpus * w.servers[j].speed;
    h->figures[which].told = run(&u, &w);
    return !isnan(h->figures[which].learned) && !isnan(h->figures[which].told);
}

/* ---- a round in processes -------------------------------------------------------------------------------------- */

static int32_t next_worker(void *self)
{
    school *h = self;

    return h->workers < h->pool.jobs ? h->workers++ : -1;
}

static int work(void *self, int32_t worker, void *mail, pid_t parent)
{
    school *h = self;
    int32_t which;
    bool ok = true;

    (void)worker;
    (void)mail;
    ex_folder_unlock(h->lock); /* it must not outlive the parent */
    while (ok && (which = __sync_fetch_and_add(&h->board->next, 1)) < worlds) {
        ok = getppid() == parent && lesson(h, which);
    }
    return ok ? EX_OK : EX_FAILED;
}

static bool take_worker(void *self, int32_t worker, const void *mail, int status, int killer)
{
    (void)self;
    (void)worker;
    (void)mail;
    if (ex_interrupted()) return true; /* the round is given up anyway */
    if (killer) ex_fail("a process that ran worlds was ended by signal %d", killer);
    return status == EX_OK && !killer;
}

static void show(void *self)
{
    school *h = self;
    const row *last = h->round ? &h->rows[h->round - 1] : NULL;
    int64_t done = (int64_t)h->round * worlds + (h->board->next < worlds ? h->board->next : worlds);

    if (last) ex_progress_step(&h->bar, done, "%+.3f beside told SED", last->beside);
    else ex_progress_step(&h->bar, done, NULL);
}

static bool round_run(school *h)
{
    h->board->next = 0;
    h->workers = 0;
    h->pool.self = h;
    h->pool.jobs = jobs;
    h->pool.runs = worlds;
    h->pool.mail_bytes = 1; /* they write on what is shared */
    h->pool.next = next_worker;
    h->pool.run = work;
    h->pool.take = take_worker;
    h->pool.show = show;
    return ex_pool_work(&h->pool) && !ex_interrupted();
}

/* ---- learning -------------------------------------------------------------------------------------------------- */

static const note *draw_note(const school *h, rllb_rng *rng)
{
    int32_t kept = h->round + 1 < ROUNDS_KEPT ? h->round + 1 : ROUNDS_KEPT;

    for (;;) {
        int32_t round = h->round - rllb_rng_below(rng, kept), world = rllb_rng_below(rng, worlds);
        int32_t n = *noted_of(h, round, world);
        if (n > 0) return notes_of(h, round, world) + rllb_rng_below(rng, n);
    }
}

/* What the output of a server should be, before the tangent that bounds it, and of what sets the form: as it was. */
static float to_step(void)
{
    return (float)gain / logf(EX_SITE_STEP);
}

/* Gradients of the mean squared error, that of the steps in units of short_of; the sums of squares that it is of. */
static void mistakes(school *h, const note *const *batch, double *was, double *left, int64_t *count)
{
    float scale = to_step();
    int32_t b, j;

    memset(h->dy, 0, (size_t)BATCH * (size_t)h->outputs * sizeof *h->dy);
    for (b = 0; b < BATCH; b++) {
        const note *n = batch[b];
        float *y = h->y + (size_t)b * (size_t)h->outputs, *dy = h->dy + (size_t)b * (size_t)h->outputs;
        for (j = 0; j < n->servers; j++) { /* outputs come in twos: mean and, which is not used here, deviation */
            float off = y[2 * j] / scale - n->short_of[j];
            dy[2 * j] = 2 * off / scale / (float)(n->servers * BATCH);
            *was += (double)(n->short_of[j] * n->short_of[j]);
            *left += (double)(off * off);
            ++*count;
        }
        for (j = 0; j < COMMON; j++) {
            float off = tanhf(y[2 * SERVERS_MOST + 2 * j]) - n->common[j];
            dy[2 * SERVERS_MOST + 2 * j] = off / (COMMON * BATCH);
        }
    }
}

static rllb_status learn(school *h)
{
    static int32_t counts[BATCH];
    const note *batch[BATCH];
    rllb_nn_net *net = rllb_nn_policy_net(h->policy);
    const size_t width = GLOBALS + PER_SERVER * SERVERS_MOST;
    double was = 0, left = 0;
    int64_t count = 0;
    rllb_status status = RLLB_OK;
    rllb_nn_pass pass;
    rllb_rng rng;
    int32_t i, b;

    rllb_rng_init(&rng, seed, ((uint64_t)3 << 32) + (uint64_t)h->round);
    for (i = 0; status == RLLB_OK && i < updates; i++) {
        for (b = 0; b < BATCH; b++) {
            batch[b] = draw_note(h, &rng);
            counts[b] = batch[b]->servers;
            memcpy(h->x + (size_t)b * width, batch[b]->seen, width * sizeof *h->x);
        }
        memset(&pass, 0, sizeof pass);
        pass.x = h->x;
        pass.rows = BATCH;
        pass.items = SERVERS_MOST;
        pass.counts = counts;
        rllb_nn_pass_forward(net, h->work, &pass, h->y);
        mistakes(h, batch, &was, &left, &count);
        rllb_nn_pass_backward(net, h->work, &pass, h->dy, h->gradient, NULL);
        status = rllb_nn_opt_step(h->opt, rllb_nn_net_data(net), h->gradient, NULL);
    }
    h->rows[h->round].distance = sqrt(was / (double)count);
    h->rows[h->round].left = sqrt(left / (double)count);
    return status;
}

static int round_end(school *h)
{
    row *r = &h->rows[h->round];
    rllb_status status;
    int32_t i, notes = 0;

    for (i = 0; i < worlds; i++) {
        r->beside += (h->figures[i].learned - h->figures[i].told) / worlds;
        notes += *noted_of(h, h->round, i);
    }
    r->round = h->round + 1;
    if (notes == 0) return ex_fail("worlds of --flows %g are over before the first decision", flows);
    status = learn(h);
    if (status != RLLB_OK) return ex_fail("round %.0f: %s", r->round, rllb_status_words(status));
    h->round++;
    return EX_OK;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static bool curve_write(const school *h)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i;
    bool ok;

    ex_csv_string(&csv, "round");
    ex_csv_string(&csv, "beside_told_sed");
    ex_csv_string(&csv, "distance");
    ex_csv_string(&csv, "distance_left");
    ex_csv_row(&csv);
    for (i = 0; i < h->round; i++) {
        ex_csv_double(&csv, h->rows[i].round);
        ex_csv_double(&csv, h->rows[i].beside);
        ex_csv_double(&csv, h->rows[i].distance);
        ex_csv_double(&csv, h->rows[i].left);
        ex_csv_row(&csv);
    }
    ok = ex_text_write(&text, ex_path_join(out, "curve.csv").text);
    ex_text_free(&text);
    return ok;
}

static bool curve_draw(const school *h)
{
    static const char *const names[] = { "weights from capacities, rms", "... what the model did not see of that",
                                         "mean job time beside told SED" };
    int32_t n = h->round, i, k;
    double *x = malloc(4 * (size_t)n * sizeof *x);
    ex_series series[3];
    ex_line_chart chart;
    bool ok;

    if (!x) return ex_fail("no memory for the picture") == EX_OK;
    memset(series, 0, sizeof series);
    memset(&chart, 0, sizeof chart);
    for (i = 0; i < n; i++) {
        x[i] = i + 1;
        x[n + i] = h->rows[i].distance;
        x[2 * n + i] = h->rows[i].left;
        x[3 * n + i] = h->rows[i].beside;
    }
    for (k = 0; k < 3; k++) {
        series[k].name = names[k];
        series[k].color = ex_palette(k);
        series[k].width = 3;
        series[k].x = x;
        series[k].y = x + (k + 1) * n;
        series[k].count = n;
    }
    chart.title = "A balancing model learns what servers can do from how flows fare";
    chart.note = "All as differences of logarithms: 0.1 is about 10 %. Below 0 the mean job time is shorter than that "
                 "of SED told the capacities.";
    chart.x.label = "round";
    chart.x.whole = true;
    chart.y.label = "difference of logarithms";
    chart.series = series;
    chart.series_count = 3;
    ok = ex_line_chart_write(&chart, 0, 0, ex_path_join(out, "curve.png").text);
    free(x);
    return ok;
}

static bool save(school *h)
{
    h->info.episodes = h->round;
    return ex_model_save(ex_path_join(out, "model.safetensors").text, h->policy, &h->info) && curve_write(h) &&
           curve_draw(h);
}

/* ---- main ------------------------------------------------------------------------------------------------------ */

static bool shared_open(school *h)
{
    size_t figures = (size_t)worlds * sizeof *h->figures, noted = (size_t)(ROUNDS_KEPT * worlds) * sizeof *h->noted;
    size_t notes = (size_t)(ROUNDS_KEPT * worlds) * NOTES_MOST * sizeof *h->notes;
    unsigned char *at;

    h->shared_bytes = sizeof *h->board + figures + noted + notes;
    at = mmap(NULL, h->shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return false;
    h->board = (board *)(void *)at;
    h->figures = (figure *)(void *)(at + sizeof *h->board);
    h->noted = (int32_t *)(void *)(at + sizeof *h->board + figures);
    h->notes = (note *)(void *)(at + sizeof *h->board + figures + noted);
    return true;
}

static bool learning_open(school *h)
{
    rllb_nn_net *net = rllb_nn_policy_net(h->policy);
    rllb_nn_opt_desc o;
    void *gradient;

    memset(&o, 0, sizeof o);
    o.lr.from = rate_of_learning;
    h->opt = rllb_nn_opt_create(&o, rllb_nn_net_floats(net));
    h->work = rllb_nn_pass_create(net, BATCH, 1, SERVERS_MOST, true);
    h->outputs = rllb_nn_net_outputs(net, SERVERS_MOST);
    h->x = malloc(BATCH * (GLOBALS + PER_SERVER * SERVERS_MOST) * sizeof *h->x);
    h->y = malloc((size_t)BATCH * (size_t)h->outputs * sizeof *h->y);
    h->dy = malloc((size_t)BATCH * (size_t)h->outputs * sizeof *h->dy);
    if (posix_memalign(&gradient, 64, rllb_nn_net_floats(net) * sizeof *h->gradient) == 0) h->gradient = gradient;
    h->rows = calloc((size_t)rounds, sizeof *h->rows);
    return h->opt && h->work && h->x && h->y && h->dy && h->gradient && h->rows;
}

static int school_open(school *h)
{
    ex_site_model(hidden, seed, &h->p, &h->info);
    snprintf(h->info.algorithm, sizeof h->info.algorithm, "lessons");
    snprintf(h->info.preset, sizeof h->info.preset, "random");
    h->policy = rllb_nn_policy_create(&h->p);
    if (!h->policy || !shared_open(h) || !learning_open(h)) return ex_fail("no memory for %d worlds", (int)worlds);
    ex_site_begin(rllb_nn_policy_net(h->policy));
    return from ? ex_site_load(from, &h->p, &h->info, rllb_nn_policy_net(h->policy)) : EX_OK;
}

static void school_close(school *h)
{
    rllb_nn_policy_destroy(h->policy);
    rllb_nn_opt_destroy(h->opt);
    rllb_nn_work_destroy(h->work);
    free(h->x);
    free(h->y);
    free(h->dy);
    free(h->gradient);
    if (h->board) munmap(h->board, h->shared_bytes);
    free(h->rows);
}

static int school_run(school *h)
{
    int status = EX_OK;
    bool worked = true;

    ex_catch_interrupts();
    ex_progress_start(&h->bar, "teaching", (int64_t)rounds * worlds, quiet);
    while (status == EX_OK && h->round < rounds) {
        worked = round_run(h);
        if (!worked) break;
        status = round_end(h);
    }
    ex_progress_end(&h->bar, status == EX_OK && worked ? "taught %d rounds," : NULL, (int)rounds);
    if (status == EX_OK && !worked && !ex_interrupted()) status = EX_FAILED;
    if (status == EX_OK && h->round > 0 && !save(h)) status = EX_FAILED;
    if (status != EX_OK || worked) return status;
    fprintf(stderr, "marl_teach: stopped after %d of %d rounds; %s\n", (int)h->round, (int)rounds,
            h->round ? "--from its model goes on" : "nothing was learnt yet");
    return ex_interrupt_status();
}

int main(int argc, char **argv)
{
    ex_lock lock = { -1 };
    school h;
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    memset(&h, 0, sizeof h);
    h.lock = &lock;
    status = school_open(&h);
    if (status == EX_OK && !ex_folder_lock(out, &lock)) status = EX_FAILED;
    if (status == EX_OK) status = school_run(&h);
    if (status == EX_OK && !quiet) {
        const row *r = &h.rows[rounds - 1];
        printf("%s after %d rounds: weights are %.2f (rms of logarithms) from the capacities, of which %.2f cannot be\n"
               "seen; mean job time %+.1f %% beside SED that is told them, in the worlds of the last round.\n",
               ex_path_join(out, "model.safetensors").text, (int)rounds, r->distance, r->left,
               100 * (exp(r->beside) - 1));
    }
    school_close(&h);
    ex_folder_unlock(&lock);
    return status;
}
