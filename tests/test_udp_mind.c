/* How the UDP allocator decides: model files, plans, old metrics. Metrics are what this file says; time is a number. */

#include "../examples/udp/mind.c"

#include "said.h"
#include "test.h"

#include <unistd.h>

/* ---- metrics as told here ---------------------------------------------------------------------------------------- */

struct ud_metrics {
    ud_shares shares[UD_CLIENTS_MOST]; /* known: ever */
    uint64_t turn;
    double stale_s;
};

void ud_metrics_shares(const ud_metrics *m, int32_t client, double now_s, ud_shares *out)
{
    *out = m->shares[client];
    out->age_s = now_s - out->at_s;
    out->known = out->known && out->age_s <= m->stale_s;
}

uint64_t ud_metrics_turn(const ud_metrics *m)
{
    return m->turn;
}

static void say(ud_metrics *m, int32_t client, double cpu, double memory, double network, double at_s)
{
    ud_shares *s = &m->shares[client];

    s->known = true;
    s->cpu = cpu;
    s->memory = memory;
    s->network = network;
    s->at_s = at_s;
    m->turn++;
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static const char inputs_all[] = "cpu,memory,network,sent,age";

static const char *path_of(const char *name)
{
    static char path[120];
    char folder[80];

    snprintf(folder, sizeof folder, "build/test/udp_mind.%ld", (long)getpid());
    ex_folder_make(folder);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    return path;
}

static void model_remove(const char *path)
{
    char folder[80];

    unlink(path);
    snprintf(folder, sizeof folder, "build/test/udp_mind.%ld", (long)getpid());
    rmdir(folder);
}

static int32_t count_inputs(const char *inputs)
{
    int32_t n = 1;

    for (; *inputs; inputs++) n += *inputs == ',';
    return n;
}

/* Random numbers for weights. A value NULL leaves the key out. */
static rllb_nn_net *net_make(int32_t clients, const char *inputs, uint64_t seed)
{
    rllb_nn_net_desc d;

    rllb_nn_net_desc_default(&d);
    d.inputs = clients * count_inputs(inputs);
    d.outputs = clients;
    d.hidden[0] = 12;
    d.seed = seed;
    return rllb_nn_net_create(&d);
}

static bool model_write(const char *path, rllb_nn_net *net, const char *inputs, const char *key, const char *value)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    const char *own[5][2] = { { "env", "metrics" }, { "clients", "3" }, { "inputs", inputs }, { "units", "share" },
                              { "interval_s", "1" } };
    rllb_nn_meta metas[RLLB_NN_NET_METAS + 5];
    char text[80];
    int32_t used = rllb_nn_net_meta(net, text, metas), i;

    for (i = 0; i < 5; i++) {
        const char *v = key && strcmp(key, own[i][0]) == 0 ? value : own[i][1];
        if (!v) continue;
        metas[used].key = own[i][0];
        metas[used++].value = v;
    }
    rllb_nn_net_entries(net, "", &a);
    return ex_archive_write(&a, metas, used, path);
}

static ud_config config(const char *policy, const char *path)
{
    ud_config c;

    memset(&c, 0, sizeof c);
    snprintf(c.policy, sizeof c.policy, "%s", policy);
    snprintf(c.model, sizeof c.model, "%s", path);
    snprintf(c.source, sizeof c.source, "file:told by the test");
    c.interval_s = 1;
    c.stale_s = 3;
    return c;
}

/* One line that says `words`, and no mind. */
static void refused(const ud_config *c, const char *words)
{
    ud_mind *m = NULL;
    bool ok;

    catch_stderr();
    ok = ud_mind_create(c, 0, &m);
    release_stderr();
    NOTE("%s", said);
    CHECK(!ok && !m);
    CHECK_EQ_I(lines_said(), 1);
    CHECK(strstr(said, words) != NULL);
    ud_mind_destroy(m);
}

TEST(model_files_that_are_wrong)
{
    static const char *const cases[][3] = {
        { "env", NULL, "its metadata has no 'env'" },
        { "env", "cluster", "its env is 'cluster', should be 'metrics'" },
        { "units", "percent", "wants metrics in units of 'percent'; here they are shares" },
        { "units", NULL, "no 'units'" },
        { "clients", "4", "of 15 inputs and 3 outputs, is not one for 4 clients with 5 inputs each" },
        { "clients", "1", "clients is '1', should be 2 to 256" },
        { "clients", "three", "clients is 'three'" },
        { "inputs", "cpu,memory,network", "is not one for 3 clients with 3 inputs each" },
        { "inputs", "cpu,memory,disk,sent,age", "wants the input 'disk'" },
        { "inputs", "cpu,memory,cpu,sent,age", "wants the input 'cpu' twice" },
        { "inputs", "", "wants the input ''" },
        { "interval_s", "0", "interval_s is '0'" },
        { "interval_s", "soon", "interval_s is 'soon'" },
    };
    const char *path = path_of("wrong");
    rllb_nn_net *net = net_make(3, inputs_all, 1);
    ud_config c = config("model", path);
    int32_t i;

    REQUIRE(net);
    for (i = 0; i < EX_COUNT(cases); i++) {
        CHECK(model_write(path, net, inputs_all, cases[i][0], cases[i][1]));
        refused(&c, cases[i][2]);
        CHECK(strstr(said, path) != NULL);
    }
    rllb_nn_net_data(net)[0] = NAN;
    CHECK(model_write(path, net, inputs_all, NULL, NULL));
    refused(&c, "not finite");
    CHECK(ex_file_write(path, "no model", 8));
    refused(&c, "is no whole model file");
    unlink(path);
    refused(&c, path);
    c.model[0] = '\0';
    refused(&c, "which file?");
    rllb_nn_net_destroy(net);
    model_remove(path);
}

/* A list of clients that the model is not for is wrong at once; so are policies that nobody can run. */
TEST(settings_that_are_wrong)
{
    const char *path = path_of("settings");
    rllb_nn_net *net = net_make(3, inputs_all, 1);
    ud_config c = config("model", path);
    ud_mind *m;

    REQUIRE(net);
    CHECK(model_write(path, net, inputs_all, NULL, NULL));
    snprintf(c.clients, sizeof c.clients, "10.0.0.1:5,10.0.0.2:5,10.0.0.3:5,10.0.0.4:5");
    refused(&c, "is a model for 3 clients, here are 4");
    snprintf(c.clients, sizeof c.clients, "dns:clients:5");
    c.interval_s = 10;
    catch_stderr();
    CHECK(ud_mind_create(&c, 0, &m));
    release_stderr();
    CHECK(strstr(said, "trained on samples every 1 s; here they come every 10 s") != NULL);
    CHECK(ud_mind_blind(m)); /* no metrics yet */
    ud_mind_destroy(m);
    c.source[0] = '\0';
    refused(&c, "--source: policy model goes by metrics");
    c = config("awcmp", "");
    c.source[0] = '\0';
    refused(&c, "--source: policy awcmp goes by metrics");
    c = config("choose", "");
    refused(&c, "--policy: 'choose' is none that allocates");
    c = config("gsq", "");
    refused(&c, "--policy: 'gsq'");
    c = config("best", "");
    refused(&c, "--policy: 'best'");
    c = config("sed", "");
    snprintf(c.fallback, sizeof c.fallback, "least_time");
    refused(&c, "--fallback: 'least_time'");
    rllb_nn_net_destroy(net);
    model_remove(path);
}

TEST(every_other_policy_picks)
{
    int32_t p;

    for (p = 0; p < (int32_t)RLLB_BALANCE_CHOOSE; p++) {
        ud_config c = config(rllb_balance_name((rllb_balance)p), "");
        const rllb_server_desc d[2] = { { "a", 1 }, { "b", 1 } };
        ud_metrics metrics;
        int32_t j, i, met[2] = { 0, 0 };
        ud_mind *m = NULL;
        c.stale_s = 30;
        memset(&metrics, 0, sizeof metrics);
        if (p == (int32_t)RLLB_BALANCE_LEARNED) snprintf(c.model, sizeof c.model, "models/rllb-balancer.safetensors");
        CHECK(ud_mind_create(&c, 0, &m));
        if (!m) continue;
        catch_stderr();
        for (i = 0; i < 2; i++) CHECK_EQ_I(rllb_balancer_add(ud_mind_keeper(m), &d[i], 0, &j), RLLB_OK);
        for (i = 0; i < 400; i++) {
            double now_s = 0.01 * i;
            ud_mind_turn(m, &metrics, NULL, now_s);
            j = rllb_balancer_pick(ud_mind_worker(m), (uint64_t)i * 0x9e3779b97f4a7c15u + 1, now_s);
            if (j == 0 || j == 1) met[j]++;
            rllb_balancer_done(ud_mind_worker(m), j, now_s - 0.01, now_s, RLLB_OUTCOME_OK);
        }
        release_stderr();
        CHECK_STR(said, "");
        NOTE("%s: %d, %d", c.policy, (int)met[0], (int)met[1]);
        CHECK(met[0] + met[1] == 400 && met[0] > 5 && met[1] > 5);
        ud_mind_destroy(m);
    }
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

typedef struct world {
    ud_mind *m;
    ud_metrics metrics;
    ud_board board;
    rllb_nn_net *net;
    const char *path, *inputs;
    double now_s;
} world;

static world *world_open(int32_t clients, const char *inputs, uint64_t seed)
{
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    world *w = calloc(1, sizeof *w);
    ud_config c;
    int32_t i, j;
    bool ok;

    if (!w) return NULL;
    w->inputs = inputs;
    w->path = path_of("plans");
    w->metrics.stale_s = 3;
    w->net = net_make(3, inputs, seed);
    ok = w->net && model_write(w->path, w->net, inputs, NULL, NULL);
    c = config("model", w->path);
    ok = ok && ud_mind_create(&c, 0, &w->m);
    for (i = 0; ok && i < clients; i++) {
        rllb_server_desc d = { names[i], 1 };
        ok = rllb_balancer_add(ud_mind_keeper(w->m), &d, 0, &j) == RLLB_OK && j == i;
    }
    CHECK(ok);
    return ok ? w : NULL;
}

static void world_close(world *w)
{
    ud_mind_destroy(w->m);
    rllb_nn_net_destroy(w->net);
    model_remove(w->path);
    free(w);
}

static void turn(world *w)
{
    ud_mind_turn(w->m, &w->metrics, &w->board, w->now_s);
}

/* Time goes on by an eighth of a second: so many flows to each, and a turn. */
static void pass(world *w, uint64_t a, uint64_t b, uint64_t c)
{
    w->board.seat[0].flows += a;
    w->board.seat[1].flows += b;
    w->board.seat[2].flows += c;
    w->now_s += 0.125;
    turn(w);
}

/* The plan that was published last; it is not taken yet. */
static const ud_plan *plan_of(const world *w)
{
    return &w->m->plans.plan[w->m->plans.middle & 3u];
}

/* What docs/udp.md says a plan is, written down plainly: given[], age_s[] at the first choice. */
static int32_t reference(const world *w, const bool *usable, const double *given, const double *age_s, double rate,
                         int32_t count, double each, int32_t *out)
{
    static const char *const names[] = { "cpu", "memory", "network", "sent", "age" };
    rllb_nn_work *work = rllb_nn_work_create(w->net, 1, false);
    double sent[3] = { given[0], given[1], given[2] };
    unsigned char mask[3] = { usable[0], usable[1], usable[2] };
    int32_t k, i, differ = 0;

    for (k = 0; work && k < count; k++) {
        float x[15], *to = x;
        for (i = 0; i < 3; i++) {
            const ud_shares *s = &w->metrics.shares[i];
            double passed_s = k * each / rate < 0.3 ? k * each / rate : 0.3, value[5];
            const char *at = w->inputs;
            value[0] = s->cpu;
            value[1] = s->memory;
            value[2] = s->network;
            value[3] = sent[i] / (rate * 1.0);
            value[4] = (age_s[i] + passed_s) / 1.0;
            while (at) {
                int32_t n = 0;
                while (strncmp(at, names[n], strlen(names[n])) != 0) n++;
                *to++ = (float)fmin(value[n], n < 3 ? 1 : 4);
                at = strchr(at, ',');
                if (at) at++;
            }
        }
        out[k] = rllb_nn_best(w->net, work, x, mask);
        sent[out[k]] += each;
        differ += out[k] != out[0];
    }
    rllb_nn_work_destroy(work);
    return differ;
}

static void compare(const world *w, const bool *usable, const double *given, const double *age_s, double rate,
                    double each)
{
    int32_t wanted[UD_PLAN_MOST], i, wrong = 0, differ;
    const ud_plan *p = plan_of(w);

    differ = reference(w, usable, given, age_s, rate, p->count, each, wanted);
    for (i = 0; i < p->count; i++) wrong += p->client[i] != wanted[i];
    CHECK_EQ_I(wrong, 0);
    NOTE("%d entries, %d unlike the first", (int)p->count, (int)differ);
}

/* A network that goes by its inputs alone: in any order, with and without what was sent. */
TEST(plans_are_what_the_network_chooses)
{
    static const char *const inputs[] = { inputs_all, "cpu,memory,network", "age,network,sent,cpu,memory", "sent,cpu" };
    const bool all[3] = { true, true, true };
    int32_t i, k, mixed = 0;
    uint64_t seed;

    for (i = 0; i < EX_COUNT(inputs); i++) {
        for (seed = 1; seed <= 6; seed++) {
            world *w = world_open(3, inputs[i], seed);
            double given[3] = { 12, 6, 2 }, age_s[3] = { 0.5, 0.25, 0.125 };
            REQUIRE(w);
            for (k = 0; k < 20; k++) pass(w, 3, 3, 2); /* 64 a second */
            CHECK(ud_mind_blind(w->m));
            say(&w->metrics, 0, 0.3, 0.5, 1.7, w->now_s - 0.5);
            say(&w->metrics, 1, 0.6, 0.4, 0.2, w->now_s - 0.25);
            say(&w->metrics, 2, 0.1, 0.9, 0.5, w->now_s - 0.125);
            turn(w);
            CHECK(!ud_mind_blind(w->m));
            CHECK_EQ_I(plan_of(w)->count, PLAN_LEAST);
            compare(w, all, given, age_s, 64, 1);
            for (k = 1; k < plan_of(w)->count; k++) mixed += plan_of(w)->client[k] != plan_of(w)->client[0];
            world_close(w);
        }
    }
    CHECK(mixed > 100); /* else there is nothing to tell apart */
}

/* More flows than a plan can hold: each choice stands for several. */
TEST(plans_of_many_flows)
{
    const double rate = 80000, each = rate * 0.3 / UD_PLAN_MOST;
    const double given[3] = { 10000, 10000, 0 }, age_s[3] = { 0.25, 0.25, 0.125 };
    const bool all[3] = { true, true, true };
    world *w = world_open(3, inputs_all, 2);
    int32_t k;

    REQUIRE(w);
    for (k = 0; k < 20; k++) pass(w, 5000, 5000, 0);
    say(&w->metrics, 0, 0.3, 0.5, 0.7, w->now_s - 0.25);
    say(&w->metrics, 1, 0.6, 0.4, 0.2, w->now_s - 0.25);
    say(&w->metrics, 2, 0.1, 0.9, 0.5, w->now_s - 0.125);
    turn(w);
    CHECK_EQ_I(plan_of(w)->count, UD_PLAN_MOST);
    compare(w, all, given, age_s, rate, each);
    world_close(w);
}

/* The data thread's picks are the plan, and when half of what it is for is used there is another. */
TEST(picks_follow_the_plan)
{
    world *w = world_open(3, inputs_all, 2);
    int32_t k, i, wrong = 0;
    uint32_t before;

    REQUIRE(w);
    for (i = 0; i < 3; i++) say(&w->metrics, i, 0.2 + 0.1 * i, 0.5, 0.3, 0);
    pass(w, 0, 0, 0);
    before = w->m->plans.turn;
    for (k = 0; k < PLAN_LEAST / 2 - 1; k++) {
        int32_t wanted = w->m->plans.plan[k ? w->m->plans.front : (w->m->plans.middle & 3u)].client[k];
        i = rllb_balancer_pick(ud_mind_worker(w->m), 0, w->now_s);
        wrong += i != wanted;
    }
    CHECK_EQ_I(wrong, 0);
    turn(w);
    CHECK_EQ_U(w->m->plans.turn, before);
    rllb_balancer_pick(ud_mind_worker(w->m), 0, w->now_s);
    turn(w);
    CHECK_EQ_U(w->m->plans.turn, before + 1);
    say(&w->metrics, 1, 0.9, 0.5, 0.3, w->now_s); /* and at every reading */
    turn(w);
    CHECK_EQ_U(w->m->plans.turn, before + 2);
    w->now_s += 0.4; /* and when its time is over */
    turn(w);
    CHECK_EQ_U(w->m->plans.turn, before + 3);
    world_close(w);
}

static int64_t refusals(const world *w)
{
    rllb_counters c;

    rllb_balancer_counters(w->m->worker, &c);
    return (int64_t)c.choose_refused;
}

/* Who is down is chosen neither by the plan at hand nor by the next. */
TEST(who_is_down_is_not_chosen)
{
    world *w = world_open(3, inputs_all, 2);
    int32_t k, i, first;

    REQUIRE(w);
    for (i = 0; i < 3; i++) say(&w->metrics, i, 0.2 + 0.1 * i, 0.5, 0.3, 0);
    pass(w, 0, 0, 0);
    first = plan_of(w)->client[0];
    CHECK_EQ_I(rllb_balancer_set_state(ud_mind_keeper(w->m), first, RLLB_SERVER_DOWN, w->now_s), RLLB_OK);
    for (k = 0; k < 100; k++) CHECK(rllb_balancer_pick(ud_mind_worker(w->m), 0, w->now_s) != first);
    CHECK_EQ_I(refusals(w), 0);
    w->metrics.shares[first].at_s = -100; /* nor are its metrics wanted */
    turn(w);
    CHECK(!ud_mind_blind(w->m));
    for (k = 0; k < plan_of(w)->count; k++) CHECK(plan_of(w)->client[k] != first);
    CHECK(plan_of(w)->count > 0);
    for (i = 0; i < 3; i++) rllb_balancer_set_state(ud_mind_keeper(w->m), i, RLLB_SERVER_DOWN, w->now_s);
    turn(w);
    CHECK_EQ_I(plan_of(w)->count, 0);
    CHECK_EQ_I(rllb_balancer_pick(ud_mind_worker(w->m), 0, w->now_s), -1);
    world_close(w);
}

/* ---- old metrics ------------------------------------------------------------------------------------------------- */

static void say_all(world *w)
{
    int32_t i;

    for (i = 0; i < 3; i++) say(&w->metrics, i, 0.2 + 0.1 * i, 0.5, 0.3, w->now_s);
}

/* Seconds go by, with news of the first `known` clients and some picks; answers how many lines were said. */
static int32_t live(world *w, double seconds, int32_t known, int32_t picks[3])
{
    double end_s = w->now_s + seconds;
    int32_t i, j;

    catch_stderr();
    while (w->now_s < end_s - 1e-9) {
        for (i = 0; i < known; i++) say(&w->metrics, i, 0.2 + 0.1 * i, 0.5, 0.3, w->now_s);
        for (i = 0; i < 4; i++) {
            j = rllb_balancer_pick(ud_mind_worker(w->m), 0, w->now_s);
            if (j >= 0 && j < 3) picks[j]++;
        }
        pass(w, 1, 1, 1);
    }
    release_stderr();
    return lines_said();
}

TEST(old_metrics_are_none)
{
    world *w = world_open(3, "cpu,memory,network", 3);
    int32_t picks[3] = { 0, 0, 0 };

    REQUIRE(w);
    CHECK_EQ_I(live(w, 2.5, 0, picks), 0); /* at first there are none, and that is no wonder yet */
    CHECK(ud_mind_blind(w->m));
    CHECK(picks[0] > 20 && picks[1] > 20 && picks[2] > 20); /* by own counts */
    CHECK_EQ_I(live(w, 4, 0, picks), 1);
    CHECK(strstr(said, "no metrics of a for 3.") != NULL && strstr(said, "policy sed serves") != NULL);
    CHECK_EQ_I(live(w, 4, 0, picks), 0); /* once */
    CHECK_EQ_I(live(w, 2, 3, picks), 0);
    CHECK(!ud_mind_blind(w->m)); /* at once, though it is said later */
    CHECK_EQ_I(live(w, 2, 3, picks), 1);
    CHECK(strstr(said, "known again: policy model serves") != NULL);
    memset(picks, 0, sizeof picks);
    CHECK_EQ_I(live(w, 2, 3, picks), 0);
    CHECK((picks[0] > 0) + (picks[1] > 0) + (picks[2] > 0) == 1); /* the same numbers: the same choice */
    CHECK_EQ_I(live(w, 2.75, 2, picks), 0); /* one client's stand still */
    CHECK(!ud_mind_blind(w->m));
    CHECK_EQ_I(live(w, 1, 2, picks), 1);
    CHECK(ud_mind_blind(w->m));
    CHECK(strstr(said, "no metrics of c for 3.") != NULL);
    memset(picks, 0, sizeof picks);
    live(w, 2, 2, picks);
    CHECK((picks[0] > 0) + (picks[1] > 0) + (picks[2] > 0) > 1); /* by own counts, who was given less first */
    world_close(w);
}

/* On the edge: fresh for a moment, old again, all the time. Two lines would be too many. */
TEST(metrics_on_the_edge_do_not_fill_the_log)
{
    world *w = world_open(3, inputs_all, 3);
    int32_t picks[3] = { 0, 0, 0 }, lines = 0, i;

    REQUIRE(w);
    for (i = 0; i < 20; i++) {
        say_all(w);
        lines += live(w, 4, 0, picks);
    }
    CHECK_EQ_I(lines, 1);
    world_close(w);
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

TEST(more_or_fewer_clients_than_the_model_is_for)
{
    rllb_server_desc d = { "new", 1 };
    world *w = world_open(3, inputs_all, 3);
    int32_t picks[3] = { 0, 0, 0 }, j = -1, k, met = 0;

    REQUIRE(w);
    say_all(w);
    pass(w, 0, 0, 0);
    CHECK(!ud_mind_blind(w->m));
    CHECK_EQ_I(rllb_balancer_add(ud_mind_keeper(w->m), &d, w->now_s, &j), RLLB_OK);
    CHECK_EQ_I(live(w, 2, 3, picks), 0); /* it may be on its way to replace another */
    CHECK(ud_mind_blind(w->m));
    CHECK_EQ_I(live(w, 2, 3, picks), 1);
    CHECK(strstr(said, "is a model for 3 clients, here are 4: policy sed serves") != NULL);
    CHECK_EQ_I(live(w, 2, 3, picks), 0);
    rllb_balancer_set_state(ud_mind_keeper(w->m), 0, RLLB_SERVER_DRAINING, w->now_s); /* it drains: no row */
    say(&w->metrics, 3, 0.1, 0.1, 0.1, w->now_s);
    turn(w);
    CHECK(!ud_mind_blind(w->m));
    for (k = 0; k < plan_of(w)->count; k++) met += plan_of(w)->client[k] == 0;
    CHECK_EQ_I(met, 0);
    CHECK_EQ_I(w->m->row[0], 1);
    CHECK_EQ_I(w->m->row[2], 3);
    rllb_balancer_remove(ud_mind_keeper(w->m), 3, w->now_s);
    turn(w);
    CHECK(ud_mind_blind(w->m));
    live(w, 4, 3, picks);
    CHECK(strstr(said, "here are 2") == NULL); /* the same complaint is not made again, with another number */
    world_close(w);
}

/* What another was given who had the index before is not the new one's load. */
TEST(a_new_client_begins_with_nothing)
{
    rllb_server_desc d = { "new", 1 };
    world *w = world_open(3, inputs_all, 3);
    int32_t k, j;
    sight s;

    REQUIRE(w);
    for (k = 0; k < 8; k++) pass(w, 10, 10, 10);
    CHECK_EQ_I(rllb_balancer_remove(ud_mind_keeper(w->m), 1, w->now_s), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_add(ud_mind_keeper(w->m), &d, w->now_s, &j), RLLB_OK);
    CHECK_EQ_I(j, 1);
    pass(w, 10, 10, 10);
    for (k = 0; k < 4; k++) pass(w, 10, 3, 10);
    for (k = 0; k < 3; k++) say(&w->metrics, k, 0.2, 0.5, 0.3, w->now_s - 0.75);
    turn(w);
    sight_open(w->m, &s, w->now_s);
    CHECK_NEAR(s.given[0], 60, 1e-9);
    CHECK_NEAR(s.given[1], 12, 1e-9); /* it came half a second ago */
    CHECK_NEAR(s.age_s[1], 0.75, 1e-12);
    CHECK_NEAR(rate_of(w->m), (12 * 30 - 4 * 7) / (12 * 0.125), 1e-9);
    world_close(w);
}

/* ---- AWCMP ------------------------------------------------------------------------------------------------------- */

TEST(awcmp_goes_by_the_cpu)
{
    ud_config c = config("awcmp", "");
    rllb_server_desc d[2] = { { "idle", 1 }, { "busy", 1 } };
    ud_metrics metrics;
    int32_t i, j, met[2] = { 0, 0 };
    double now_s = 0;
    ud_mind *m;

    memset(&metrics, 0, sizeof metrics);
    metrics.stale_s = 3;
    REQUIRE(ud_mind_create(&c, 0, &m));
    for (i = 0; i < 2; i++) CHECK_EQ_I(rllb_balancer_add(ud_mind_keeper(m), &d[i], 0, &j), RLLB_OK);
    for (i = 0; i < 200; i++) {
        now_s += 0.1;
        say(&metrics, 0, 0.2, 0.5, 0.5, now_s);
        say(&metrics, 1, 0.8, 0.5, 0.5, now_s);
        ud_mind_turn(m, &metrics, NULL, now_s);
    }
    CHECK(!ud_mind_blind(m));
    for (i = 0; i < 1000; i++) met[rllb_balancer_pick(ud_mind_worker(m), 0, now_s)]++;
    NOTE("%d idle, %d busy", (int)met[0], (int)met[1]);
    CHECK(met[0] > 850); /* shares by what is free of the greatest: nearly all */
    now_s += 4;
    catch_stderr();
    ud_mind_turn(m, &metrics, NULL, now_s);
    release_stderr();
    CHECK_EQ_I(lines_said(), 1);
    CHECK(strstr(said, "no metrics of idle for 4.0 s: policy sed serves") != NULL);
    for (i = 0; i < 1000; i++) met[rllb_balancer_pick(ud_mind_worker(m), 0, now_s)]++;
    CHECK(met[1] > 400); /* by own counts: the other has been given less */
    ud_mind_destroy(m);
}
