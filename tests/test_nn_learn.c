/* test_nn_learn.c - what learning is made of: schedules, initialisers, optimisers, replay, and the DQN learner

   Statistical checks use fixed seeds, so they pass always or never; their bounds are such that a right implementation
   would miss them for about one seed in a million (a normal deviate below 5). */

#include <stdlib.h>

/* The allocator of this program: counts, and fails when told to. Where the C library allows it, malloc itself is
   counted too, so that no allocation by another way stays unseen. */
static long block_calls;
static volatile long heap_calls; /* compilers believe that malloc changes nothing they can see */
static int block_fails;

static void *counted_block(size_t bytes)
{
    block_calls++;
    return block_fails ? NULL : malloc(bytes);
}

#define RLLB_MALLOC(bytes) counted_block(bytes)
#define RLLB_FREE(pointer) free(pointer)
#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"

#if defined(__GLIBC__) && !defined(RLLB_I_ASAN) && !defined(__SANITIZE_THREAD__) && !defined(RLLB_NN_I_ARM)
#define HEAP_IS_COUNTED 1
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

void *malloc(size_t bytes)
{
    heap_calls++;
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    heap_calls++;
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    heap_calls++;
    return __libc_realloc(p, bytes);
}

void free(void *p)
{
    heap_calls++;
    __libc_free(p);
}
#endif

/* ---- helpers ----------------------------------------------------------------------------------------------- */

/* Chi-square of counts against expected counts, as a standard normal deviate (Wilson and Hilferty 1931). */
static double chi_square_z(const double *count, const double *expected, int cells)
{
    double chi = 0, df = cells - 1, c = 2 / (9 * df);
    int i;

    for (i = 0; i < cells; i++) chi += (count[i] - expected[i]) * (count[i] - expected[i]) / expected[i];
    return (pow(chi / df, 1.0 / 3) - (1 - c)) / sqrt(c);
}

typedef struct bytes {
    unsigned char *data;
    size_t size;
} bytes;

static bytes save(rllb_nn_dqn *agent)
{
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };
    bytes b;

    rllb_nn_dqn_entries(agent, &a);
    b.size = rllb_nn_archive_size(&a, NULL, 0);
    b.data = (unsigned char *)malloc(b.size ? b.size : 1);
    if (!b.data || rllb_nn_archive_save(&a, NULL, 0, b.data, b.size) != RLLB_OK) abort();
    return b;
}

static rllb_status load(rllb_nn_dqn *agent, const bytes *b)
{
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };

    rllb_nn_dqn_entries(agent, &a);
    return rllb_nn_archive_load(&a, b->data, b->size, NULL);
}

/* ---- schedules --------------------------------------------------------------------------------------------- */

TEST(schedules_worked_by_hand)
{
    rllb_nn_schedule s;

    memset(&s, 0, sizeof s);
    s.from = 0.5;
    s.to = 0.1;
    s.steps = 10;
    CHECK_NEAR(rllb_nn_schedule_at(&s, 0), 0.5, 0);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 1000), 0.5, 0);
    s.curve = RLLB_NN_LINEAR_DECAY;
    CHECK_NEAR(rllb_nn_schedule_at(&s, -3), 0.5, 0);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 0), 0.5, 0);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 1), 0.46, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 10), 0.1, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, INT64_MAX), 0.1, 1e-15);
    s.curve = RLLB_NN_COSINE;
    CHECK_NEAR(rllb_nn_schedule_at(&s, 0), 0.5, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 5), 0.3, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 2), 0.1 + 0.4 * 0.5 * (1 + cos(3.14159265358979323846 / 5)), 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 11), 0.1, 1e-15);
    s.curve = RLLB_NN_EXPONENTIAL;
    s.rate = 0.5;
    CHECK_NEAR(rllb_nn_schedule_at(&s, 2), 0.125, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 3), 0.1, 0);
    s.to = 3;
    s.rate = 2;
    CHECK_NEAR(rllb_nn_schedule_at(&s, 2), 2, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 3), 3, 0);
    s.curve = RLLB_NN_LINEAR_DECAY;
    s.to = 0.1;
    s.warmup = 4; /* 1/5, 2/5, 3/5, 4/5, then the curve from its start */
    CHECK_NEAR(rllb_nn_schedule_at(&s, 0), 0.1, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 3), 0.4, 1e-15);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 4), 0.5, 0);
    CHECK_NEAR(rllb_nn_schedule_at(&s, 5), 0.46, 1e-15);
    s.steps = 0;
    CHECK_NEAR(rllb_nn_schedule_at(&s, 4), 0.1, 1e-15);
}

/* ---- initialisers ------------------------------------------------------------------------------------------ */

/* Uniform in [-b, b] has mean 0 and variance b^2 / 3; the sample mean and variance of n draws deviate by
   b / sqrt(3 n) and b^2 sqrt(4 / 45 / n). */
TEST(uniform_initialisers)
{
    int start;

    for (start = RLLB_NN_START_KAIMING; start <= RLLB_NN_START_XAVIER; start++) {
        rllb_nn_net_desc d;
        rllb_nn_net *net;
        int32_t n, o, i;
        rllb_nn_net_desc_default(&d);
        d.inputs = 40;
        d.outputs = 5;
        d.hidden[0] = 150;
        d.hidden[1] = 90;
        d.start = (rllb_nn_start)start;
        d.seed = 61;
        net = rllb_nn_net_create(&d);
        REQUIRE(net);
        for (n = 0; n < net->layers; n++) {
            const rllb_i_layer *l = &net->layer[n];
            bool kaiming = start == RLLB_NN_START_KAIMING;
            double b = kaiming ? 1 / sqrt(l->in) : sqrt(6.0 / (l->in + l->out)), sum = 0, squares = 0, most = 0, count;
            for (o = 0; o < l->out; o++) {
                for (i = 0; i < l->in; i++) {
                    double w = (double)*rllb_i_weight(net, l, o, i);
                    sum += w;
                    squares += w * w;
                    most = fmax(most, fabs(w));
                }
            }
            count = (double)l->in * l->out;
            CHECK(most <= b && most > b * (1 - 14 / count)); /* the rest would be missed once in a million */
            CHECK(fabs(sum / count) < 5 * b / sqrt(3 * count));
            CHECK(fabs(squares / count - b * b / 3) < 5 * b * b * sqrt(4.0 / 45 / count));
            for (o = 0, most = 0; o < l->out; o++) most = fmax(most, fabs((double)net->data[l->bias + (size_t)o]));
            CHECK(kaiming ? most <= b && most > b * (1 - 14.0 / l->out) : !(most > 0));
        }
        rllb_nn_net_destroy(net);
    }
}

TEST(orthogonal_initialiser)
{
    static const int32_t shapes[][2] = { { 10, 30 }, { 30, 10 }, { 16, 16 }, { 40, 3 }, { 1, 5 } };
    int s;

    for (s = 0; s < 5; s++) {
        rllb_nn_net_desc d;
        rllb_nn_net *net;
        int32_t n, a, b, e;
        double worst = 0;
        rllb_nn_net_desc_default(&d);
        d.inputs = shapes[s][0];
        d.hidden[0] = shapes[s][1];
        d.outputs = 4;
        d.start = RLLB_NN_START_ORTHOGONAL;
        net = rllb_nn_net_create(&d);
        REQUIRE(net);
        for (n = 0; n < net->layers; n++) {
            const rllb_i_layer *l = &net->layer[n];
            bool by_output = l->out <= l->in;
            int32_t vectors = by_output ? l->out : l->in, length = by_output ? l->in : l->out;
            double gain = n == net->layers - 1 ? 1 : 2;
            for (a = 0; a < vectors; a++) {
                for (b = 0; b <= a; b++) {
                    double dot = 0;
                    for (e = 0; e < length; e++) {
                        dot += (double)*rllb_i_weight(net, l, by_output ? a : e, by_output ? e : a) *
                               (double)*rllb_i_weight(net, l, by_output ? b : e, by_output ? e : b);
                    }
                    worst = nn_worse(worst, fabs(dot - (a == b ? gain : 0)));
                }
            }
        }
        NOTE("%d-%d-4: dot products off by %.1e", (int)d.inputs, (int)d.hidden[0], worst);
        CHECK(worst < 2e-6);
        rllb_nn_net_destroy(net);
    }
}

TEST(seeds_and_streams_of_networks)
{
    rllb_nn_net_desc d;
    rllb_nn_net *a, *b;

    rllb_nn_net_desc_default(&d);
    d.inputs = d.outputs = 3;
    a = rllb_nn_net_create(&d);
    b = rllb_nn_net_create(&d);
    REQUIRE(a && b);
    CHECK_MEM(b->data, a->data, sizeof(float) * a->floats);
    rllb_nn_net_reset(b, 0, 1);
    CHECK(memcmp(b->data, a->data, sizeof(float) * a->floats) != 0);
    rllb_nn_net_reset(b, 0, 0);
    CHECK_MEM(b->data, a->data, sizeof(float) * a->floats);
    CHECK_EQ_I(rllb_nn_net_parameters(a), 3 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3);
    rllb_nn_net_destroy(b);
    d.leak = 0.5f;
    b = rllb_nn_net_create(&d);
    REQUIRE(b);
    CHECK_EQ_I(rllb_nn_net_copy(b, a), RLLB_ERROR_SHAPE);
    rllb_nn_net_destroy(a);
    rllb_nn_net_destroy(b);
}

/* ---- optimisers -------------------------------------------------------------------------------------------- */

/* A bowl: half the sum of k_i (p_i - t_i)^2 with k from 1 to 10. */
TEST(optimisers_reach_the_bottom_of_a_bowl)
{
    static const struct {
        rllb_nn_opt_kind kind;
        double lr;
        float momentum;
    } list[] = { { RLLB_NN_ADAM, 0.05, 0 }, { RLLB_NN_ADAMW, 0.05, 0 }, { RLLB_NN_SGD, 0.05, 0 },
                 { RLLB_NN_SGD, 0.02, 0.9f }, { RLLB_NN_RMSPROP, 0.01, 0 } };
    enum { N = 32, STEPS = 1500 };
    int k, i, step;

    for (k = 0; k < 5; k++) {
        rllb_nn_opt_desc d;
        rllb_nn_opt *opt;
        float *p = nn_floats(N), *g = nn_floats(N), norm;
        double worst = 0;
        memset(&d, 0, sizeof d);
        d.kind = list[k].kind;
        d.lr.curve = RLLB_NN_COSINE;
        d.lr.from = list[k].lr;
        d.lr.steps = STEPS;
        d.momentum = list[k].momentum;
        d.weight_decay = d.kind == RLLB_NN_ADAMW ? 1e-6f : 0;
        opt = rllb_nn_opt_create(&d, N);
        REQUIRE(opt);
        for (step = 0; step < STEPS; step++) {
            for (i = 0; i < N; i++) g[i] = (1 + (float)(i % 10)) * (p[i] - (float)(i - 16) / 8);
            CHECK_EQ_I(rllb_nn_opt_step(opt, p, g, &norm), RLLB_OK);
        }
        for (i = 0; i < N; i++) worst = nn_worse(worst, fabs((double)p[i] - (i - 16) / 8.0));
        NOTE("kind %d, momentum %.1f: off by %.1e", (int)d.kind, (double)d.momentum, worst);
        CHECK(worst < 1e-3);
        CHECK_EQ_I(rllb_nn_opt_steps(opt), STEPS);
        rllb_nn_opt_destroy(opt);
        free(p);
        free(g);
    }
}

/* weight_decay: Adam adds it to the gradient, AdamW shrinks the weight; one step by hand each. */
TEST(weight_decay_by_hand)
{
    rllb_nn_opt_desc d;
    int k;

    for (k = 0; k < 2; k++) {
        rllb_nn_opt *opt;
        float *p = nn_floats(16), *g = nn_floats(16);
        memset(&d, 0, sizeof d);
        d.kind = k ? RLLB_NN_ADAMW : RLLB_NN_ADAM;
        d.lr.from = 0.1;
        d.weight_decay = 0.5f;
        opt = rllb_nn_opt_create(&d, 16);
        REQUIRE(opt);
        p[0] = 2;
        g[0] = -0.5f;
        CHECK_EQ_I(rllb_nn_opt_step(opt, p, g, NULL), RLLB_OK);
        /* Adam: gradient -0.5 + 0.5 * 2 = 0.5, so down by lr. AdamW: 2 (1 - 0.05), then up by lr. */
        CHECK_NEAR(p[0], k ? 1.9 + 0.1 : 1.9, 1e-6);
        rllb_nn_opt_destroy(opt);
        free(p);
        free(g);
    }
}

TEST(gradients_that_are_not_finite_change_nothing)
{
    const float bad[] = { (float)NAN, (float)INFINITY, -(float)INFINITY, 3e38f };
    rllb_nn_opt_desc d;
    rllb_nn_opt *opt;
    float *p = nn_floats(32), *g = nn_floats(32), norm;
    int i;

    memset(&d, 0, sizeof d);
    opt = rllb_nn_opt_create(&d, 32);
    REQUIRE(opt);
    for (i = 0; i < 4; i++) {
        memset(g, 0, 32 * sizeof(float));
        g[17] = bad[i]; /* the last one is finite, but its square is not */
        p[17] = 5;
        CHECK_EQ_I(rllb_nn_opt_step(opt, p, g, &norm), RLLB_ERROR_NOT_FINITE);
        CHECK(p[17] == 5 && p[0] == 0);
        CHECK_EQ_I(rllb_nn_opt_steps(opt), 0);
    }
    rllb_nn_opt_destroy(opt);
    free(p);
    free(g);
}

/* ---- replay ------------------------------------------------------------------------------------------------ */

enum { OBS = 2, ACTS = 3 };

typedef struct transition {
    float obs[OBS], next[OBS], reward;
    int32_t action;
    unsigned char mask[ACTS];
    bool terminated, truncated;
} transition;

/* Random steps; observations carry the number of the step, so that mixed-up ones show. */
static void random_steps(transition *s, int n, uint64_t seed)
{
    rllb_rng rng;
    int i, j;

    rllb_rng_init(&rng, seed, 0);
    for (i = 0; i < n; i++) {
        int32_t end = rllb_rng_below(&rng, 12);
        memset(&s[i], 0, sizeof s[i]);
        s[i].obs[0] = (float)i;
        s[i].obs[1] = -(float)i;
        s[i].next[0] = (float)i + 0.5f;
        s[i].next[1] = 7;
        s[i].reward = rllb_rng_range(&rng, -1, 1);
        s[i].action = rllb_rng_below(&rng, ACTS);
        s[i].terminated = end == 0;
        s[i].truncated = end == 1;
        for (j = 0; j < ACTS; j++) s[i].mask[j] = rllb_rng_below(&rng, 2) != 0;
    }
}

/* What the ring must hold, from the definition: the step that began at `start` sums rewards up to n steps, or to the
   end of its episode. False while its window is still open. */
static bool expect(const transition *s, int n, int start, int n_step, double gamma, double *reward, double *discount,
                   int *last)
{
    int i;
    double weight = 1;

    *reward = 0;
    for (i = start; i < n; i++) {
        bool over = s[i].terminated || s[i].truncated;
        *reward += weight * (double)s[i].reward;
        weight *= gamma;
        *last = i;
        *discount = s[i].terminated ? 0 : weight;
        if (over || i - start + 1 == n_step) return true;
    }
    return false;
}

TEST(ring_and_n_step_against_the_definition)
{
    static const int capacities[] = { 1, 3, 17, 500 }, n_steps[] = { 1, 2, 3, 5, 9 };
    enum { N = 200 };
    transition s[N];
    int c, k, i, j;

    for (c = 0; c < 4; c++) {
        for (k = 0; k < 5; k++) {
            rllb_nn_replay_desc d;
            rllb_nn_replay *r;
            int finished = 0, order[N], seen;
            random_steps(s, N, (uint64_t)(10 * c + k));
            memset(&d, 0, sizeof d);
            d.capacity = capacities[c];
            d.observations = OBS;
            d.actions = ACTS;
            d.masks = true;
            d.n_step = n_steps[k];
            d.gamma = 0.9f;
            r = rllb_nn_replay_create(&d);
            REQUIRE(r);
            NOTE("capacity %d, n_step %d", capacities[c], n_steps[k]);
            for (i = 0; i < N; i++) {
                CHECK_EQ_I(rllb_nn_replay_observe(r, s[i].obs, s[i].action, s[i].reward, s[i].next, s[i].mask,
                                                  s[i].terminated, s[i].truncated), RLLB_OK);
            }
            for (i = 0; i < N; i++) { /* transitions enter in the order in which they begin */
                double reward, discount = 0;
                int last = 0;
                if (expect(s, N, i, n_steps[k], 0.9, &reward, &discount, &last)) order[finished++] = i;
            }
            CHECK_EQ_I(rllb_nn_replay_count(r), finished < capacities[c] ? finished : capacities[c]);
            seen = finished < capacities[c] ? finished : capacities[c];
            for (i = finished - seen; i < finished; i++) {
                double reward, discount = 0;
                int last = 0, at = i % capacities[c];
                expect(s, N, order[i], n_steps[k], 0.9, &reward, &discount, &last);
                CHECK(r->obs[at * OBS] == s[order[i]].obs[0] && r->obs[at * OBS + 1] == s[order[i]].obs[1]);
                CHECK(r->next[at * OBS] == s[last].next[0] && r->next[at * OBS + 1] == 7);
                CHECK_EQ_I(r->action[at], s[order[i]].action);
                CHECK_NEAR(r->reward[at], reward, 1e-6);
                CHECK_NEAR(r->discount[at], discount, 1e-6);
                for (j = 0; j < ACTS; j++) CHECK_EQ_I(r->mask[at * ACTS + j], s[last].mask[j]);
            }
            rllb_nn_replay_destroy(r);
        }
    }
}

TEST(replay_refuses)
{
    const float good[OBS] = { 1, 2 }, nan[OBS] = { 1, (float)NAN }, inf[OBS] = { (float)INFINITY, 2 };
    rllb_nn_replay_desc d;
    rllb_nn_replay *r;
    rllb_nn_batch b;

    memset(&d, 0, sizeof d);
    memset(&b, 0, sizeof b);
    d.observations = OBS;
    d.capacity = 4;
    r = rllb_nn_replay_create(&d);
    REQUIRE(r);
    CHECK_EQ_I(rllb_nn_replay_observe(r, nan, 0, 0, good, NULL, false, false), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(rllb_nn_replay_observe(r, good, 0, 0, inf, NULL, false, false), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(rllb_nn_replay_observe(r, good, 0, nan[1], good, NULL, false, false), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(rllb_nn_replay_observe(r, good, -1, 0, good, NULL, false, false), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_replay_observe(r, NULL, 0, 0, good, NULL, false, false), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_replay_count(r), 0);
    CHECK_EQ_I(rllb_nn_replay_sample(r, 1, &b), RLLB_ERROR_EMPTY);
    CHECK_EQ_I(rllb_nn_replay_sample(r, 0, &b), RLLB_ERROR_ARGUMENT);
    rllb_nn_replay_destroy(r);
}

/* A batch of room for `rows` rows over static memory. */
static rllb_nn_batch room_for_batch(void)
{
    enum { ROWS = 64 };
    static float obs[ROWS * OBS], next[ROWS * OBS], reward[ROWS], discount[ROWS], weight[ROWS];
    static int32_t action[ROWS], index[ROWS];
    static unsigned char mask[ROWS * ACTS];
    rllb_nn_batch b;

    b.obs = obs;
    b.next = next;
    b.action = action;
    b.reward = reward;
    b.discount = discount;
    b.weight = weight;
    b.index = index;
    b.mask = mask;
    return b;
}

static rllb_nn_replay *filled(bool prioritized, int32_t capacity, int32_t count)
{
    rllb_nn_replay_desc d;
    rllb_nn_replay *r;
    int32_t i;

    memset(&d, 0, sizeof d);
    d.observations = OBS;
    d.capacity = capacity;
    d.prioritized = prioritized;
    d.alpha = 0.7f;
    d.beta.curve = RLLB_NN_LINEAR_DECAY;
    d.beta.from = 0.5;
    d.beta.to = 1;
    d.beta.steps = 10;
    d.seed = 8;
    r = rllb_nn_replay_create(&d);
    if (!r) abort();
    for (i = 0; i < count; i++) {
        float obs[OBS] = { (float)i, 0 };
        if (rllb_nn_replay_observe(r, obs, i % ACTS, (float)i, obs, NULL, false, false) != RLLB_OK) abort();
    }
    return r;
}

TEST(uniform_sampling_is_uniform)
{
    enum { N = 23, BATCHES = 3000, ROWS = 20 };
    rllb_nn_replay *r = filled(false, 50, N);
    rllb_nn_batch b = room_for_batch();
    double count[N] = { 0 }, expected[N];
    int i, k, wrong = 0;

    for (i = 0; i < BATCHES; i++) {
        REQUIRE(rllb_nn_replay_sample(r, ROWS, &b) == RLLB_OK);
        for (k = 0; k < ROWS; k++) {
            REQUIRE(b.index[k] >= 0 && b.index[k] < N);
            count[b.index[k]]++;
            wrong += !(b.weight[k] == 1) || (int)b.reward[k] != b.index[k] || (int)b.obs[k * OBS] != b.index[k];
        }
    }
    CHECK_EQ_I(wrong, 0);
    for (i = 0; i < N; i++) expected[i] = (double)BATCHES * ROWS / N;
    NOTE("z %.2f", chi_square_z(count, expected, N));
    CHECK(fabs(chi_square_z(count, expected, N)) < 5);
    rllb_nn_replay_destroy(r);
}

/* New transitions get the largest priority; errors set |error|^alpha; sampling follows, and so do the weights. */
TEST(prioritised_sampling_follows_priorities)
{
    enum { N = 21, BATCHES = 4000, ROWS = 16 };
    rllb_nn_replay *r = filled(true, 30, N);
    rllb_nn_batch b = room_for_batch();
    double count[N] = { 0 }, expected[N], priority[N], total = 0;
    int32_t index[N], i, k;
    float error[N];
    double worst = 0;

    for (i = 0; i < N; i++) {
        CHECK_NEAR(r->tree[r->leaves + i], 1, 0);
        index[i] = i;
        error[i] = (float)(i % 2 ? -1 : 1) * (0.05f + 0.1f * (float)i);
        priority[i] = pow(fabs((double)error[i]) + 1e-6, 0.7);
        total += priority[i];
    }
    rllb_nn_replay_update(r, index, error, N);
    for (k = 0; k < BATCHES; k++) {
        double beta = fmin(1, 0.5 + 0.05 * k), greatest = 0; /* annealed over the first ten batches */
        REQUIRE(rllb_nn_replay_sample(r, ROWS, &b) == RLLB_OK);
        for (i = 0; i < ROWS; i++) {
            REQUIRE(b.index[i] >= 0 && b.index[i] < N);
            count[b.index[i]]++;
            greatest = fmax(greatest, pow(N * priority[b.index[i]] / total, -beta));
        }
        for (i = 0; i < ROWS; i++) {
            double w = pow(N * priority[b.index[i]] / total, -beta) / greatest;
            worst = nn_worse(worst, fabs((double)b.weight[i] - w));
        }
    }
    for (i = 0; i < N; i++) expected[i] = (double)BATCHES * ROWS * priority[i] / total;
    NOTE("weights off by %.1e, z %.2f", worst, chi_square_z(count, expected, N));
    CHECK(worst < 1e-5);
    /* Slices of equal mass make counts more even than chance would: z is far below 0, which is no fault. */
    CHECK(chi_square_z(count, expected, N) < 5);
    rllb_nn_replay_destroy(r);
}

/* By hand: two transitions with priorities 1 and 4, alpha 1: weights at beta 0.5. */
TEST(importance_weights_by_hand)
{
    rllb_nn_replay_desc d;
    rllb_nn_replay *r;
    rllb_nn_batch b = room_for_batch();
    float obs[OBS] = { 0, 0 }, error[2] = { 1, -4 };
    int32_t index[2] = { 0, 1 };
    int i, seen = 0;

    memset(&d, 0, sizeof d);
    d.observations = OBS;
    d.capacity = 2;
    d.prioritized = true;
    d.alpha = 1;
    d.beta.from = 0.5; /* constant */
    r = rllb_nn_replay_create(&d);
    REQUIRE(r);
    for (i = 0; i < 2; i++) rllb_nn_replay_observe(r, obs, i, 0, obs, NULL, false, false);
    rllb_nn_replay_update(r, index, error, 2);
    REQUIRE(rllb_nn_replay_sample(r, 20, &b) == RLLB_OK);
    for (i = 0; i < 20; i++) {
        /* (2 * 1/5)^-0.5 against (2 * 4/5)^-0.5: the rare one counts 1, the other half of it */
        CHECK_NEAR(b.weight[i], b.index[i] == 0 ? 1 : 0.5, 1e-6);
        seen |= 1 << b.index[i];
    }
    CHECK_EQ_I(seen, 3);
    rllb_nn_replay_destroy(r);
}

TEST(sum_tree_stays_a_sum_tree)
{
    enum { N = 77 };
    rllb_nn_replay *r = filled(true, 100, N);
    rllb_rng rng;
    int32_t round, i;
    bool sums = true, finds = true;

    rllb_rng_init(&rng, 71, 0);
    for (round = 0; round < 3000; round++) {
        int32_t at = rllb_rng_below(&rng, N);
        float error = round % 50 == 0 ? 0 : rllb_rng_range(&rng, -3, 3);
        if (round % 100 == 7) error = (float)NAN; /* counts as the largest so far */
        rllb_nn_replay_update(r, &at, &error, 1);
        if (error != error) CHECK(r->tree[r->leaves + at] == r->most[0]);
    }
    for (i = 1; i < r->leaves; i++) sums = sums && r->tree[i] == r->tree[2 * i] + r->tree[2 * i + 1];
    CHECK(sums);
    for (i = N; i < r->leaves; i++) CHECK(r->tree[r->leaves + i] == 0);
    for (round = 0; round < 20000; round++) { /* a find lands where the running sum says, up to rounding */
        float mass = rllb_rng_float(&rng) * r->tree[1];
        int32_t leaf = rllb_i_tree_find(r, mass);
        double before = 0, slack = 1e-5 * (double)r->tree[1];
        for (i = 0; i < leaf; i++) before += (double)r->tree[r->leaves + i];
        finds = finds && leaf >= 0 && leaf < N && before <= (double)mass + slack &&
                before + (double)r->tree[r->leaves + leaf] >= (double)mass - slack;
    }
    CHECK(finds);
    i = N; /* not there yet: must not get a priority */
    rllb_nn_replay_update(r, &i, &r->tree[r->leaves], 1);
    CHECK(r->tree[r->leaves + N] == 0);
    CHECK_EQ_I(rllb_i_tree_find(r, r->tree[1]), N - 1);
    rllb_nn_replay_destroy(r);
}

/* ---- the learner ------------------------------------------------------------------------------------------- */

/* A small learner with the given things switched on. */
static void describe(rllb_nn_dqn_desc *d, bool everything)
{
    rllb_nn_dqn_desc_default(d);
    d->net.inputs = 4;
    d->net.outputs = ACTS;
    d->net.hidden[0] = 20;
    d->batch = 16;
    d->replay.capacity = 150;
    d->seed = 81;
    if (!everything) return;
    d->net.hidden[1] = 9;
    d->net.dueling = 12;
    d->net.layer_norm = d->double_dqn = d->masks = d->replay.prioritized = true;
    d->replay.n_step = 3;
    d->target_every = 7;
    d->opt.kind = RLLB_NN_ADAMW;
}

/* A world of its own: random observations, the best action depends on them; episodes end in both ways. */
typedef struct world {
    rllb_rng rng;
    float now[4];
    unsigned char mask[ACTS];
    int32_t step;
} world;

static void world_draw(world *w)
{
    int i;

    nn_fill(&w->rng, w->now, 4);
    for (i = 0; i < ACTS; i++) w->mask[i] = rllb_rng_below(&w->rng, 4) > 0;
    w->mask[w->step % ACTS] = 1;
}

static void world_start(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    rllb_rng_init(&w->rng, seed, 9);
    world_draw(w);
}

/* Steps of learning; false as soon as anything is not as it must be. */
static bool live(rllb_nn_dqn *agent, world *w, bool masks, int steps)
{
    int32_t i, action;
    bool ok = true;

    for (i = 0; i < steps; i++) {
        float before[4];
        rllb_status status;
        memcpy(before, w->now, sizeof before);
        action = rllb_nn_dqn_act(agent, w->now, masks ? w->mask : NULL);
        ok = ok && action >= 0 && action < ACTS && (!masks || w->mask[action]);
        w->step++;
        world_draw(w);
        ok = ok && rllb_nn_dqn_observe(agent, before, action, before[action], w->now, masks ? w->mask : NULL,
                                       w->step % 19 == 0, w->step % 31 == 0) == RLLB_OK;
        status = rllb_nn_dqn_update(agent, NULL);
        ok = ok && (status == RLLB_OK || status == RLLB_ERROR_EMPTY);
    }
    return ok;
}

TEST(learners_resume_bit_for_bit)
{
    int everything;

    for (everything = 0; everything < 2; everything++) {
        rllb_nn_dqn_desc d;
        rllb_nn_dqn *one, *two, *three;
        world w, kept;
        bytes middle, end, again;
        describe(&d, everything != 0);
        one = rllb_nn_dqn_create(&d);
        d.seed = 999; /* whatever the other one was before */
        two = rllb_nn_dqn_create(&d);
        describe(&d, everything != 0);
        three = rllb_nn_dqn_create(&d);
        REQUIRE(one && two && three);
        world_start(&w, 1);
        CHECK(live(one, &w, everything != 0, 300));
        kept = w;
        middle = save(one);
        CHECK(live(one, &w, everything != 0, 300));
        end = save(one);
        w = kept;
        CHECK_EQ_I(load(two, &middle), RLLB_OK);
        again = save(two);
        CHECK_EQ_I(again.size, middle.size);
        CHECK_MEM(again.data, middle.data, middle.size);
        free(again.data);
        CHECK(live(two, &w, everything != 0, 300));
        again = save(two);
        CHECK_MEM(again.data, end.data, end.size);
        CHECK(memcmp(middle.data, end.data, end.size) != 0);
        free(again.data);
        world_start(&w, 1); /* and the same from the start, without a pause */
        CHECK(live(three, &w, everything != 0, 600));
        again = save(three);
        CHECK_MEM(again.data, end.data, end.size);
        CHECK(rllb_nn_dqn_updates(three) > 500 && rllb_nn_dqn_episodes(three) > 30);
        free(again.data);
        free(middle.data);
        free(end.data);
        rllb_nn_dqn_destroy(one);
        rllb_nn_dqn_destroy(two);
        rllb_nn_dqn_destroy(three);
    }
}

TEST(masks_never_let_a_forbidden_action_through)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    world w;
    unsigned char none[ACTS] = { 0, 0, 0 }, only[ACTS] = { 0, 0, 9 };
    double count[2] = { 0, 0 }, expected[2] = { 10000, 10000 };
    int i;

    describe(&d, true);
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    world_start(&w, 2);
    CHECK(live(agent, &w, true, 3000)); /* epsilon falls from 1 to a half here */
    CHECK_EQ_I(rllb_nn_dqn_act(agent, w.now, none), -1);
    CHECK_EQ_I(rllb_nn_dqn_best(agent, w.now, none), -1);
    for (i = 0; i < 50; i++) CHECK_EQ_I(rllb_nn_dqn_act(agent, w.now, only), 2);
    CHECK_EQ_I(rllb_nn_dqn_best(agent, w.now, only), 2);
    rllb_nn_dqn_destroy(agent);
    describe(&d, true); /* exploring is uniform over what is allowed */
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 1, 0);
    only[0] = 1;
    for (i = 0; i < 20000; i++) count[rllb_nn_dqn_act(agent, w.now, only) / 2]++;
    CHECK(fabs(count[0] - expected[0]) < 5 * sqrt(5000));
    rllb_nn_dqn_destroy(agent);
}

TEST(nan_is_refused_and_survived)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    const float good[4] = { 1, 0, 0, 1 }, bad[4] = { 1, (float)NAN, 0, 1 };
    unsigned char mask[ACTS] = { 0, 1, 1 };
    world w;
    bytes before, after;
    slow_net slow;
    size_t i;

    describe(&d, true);
    d.epsilon.from = 1e-9;
    d.epsilon.to = 1e-9;
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    world_start(&w, 3);
    live(agent, &w, true, 50);
    before = save(agent);
    CHECK_EQ_I(rllb_nn_dqn_observe(agent, bad, 0, 0, good, NULL, false, false), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(rllb_nn_dqn_observe(agent, good, 0, 0, bad, NULL, true, false), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(rllb_nn_dqn_observe(agent, good, 0, bad[1], good, NULL, true, false), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(rllb_nn_dqn_observe(agent, good, ACTS, 0, good, NULL, true, false), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_dqn_observe(agent, good, -1, 0, good, NULL, true, false), RLLB_ERROR_ARGUMENT);
    after = save(agent);
    CHECK_MEM(after.data, before.data, before.size);
    free(after.data);
    CHECK(rllb_nn_dqn_best(agent, bad, NULL) >= 0); /* an observation of NaN, for serving */
    slow = slow_make(agent->net);
    for (i = 0; i < slow.count; i++) agent->net->data[slow.at[i]] = bad[1];
    slow_free(&slow);
    CHECK_EQ_I(rllb_nn_dqn_best(agent, good, NULL), 0);
    CHECK_EQ_I(rllb_nn_dqn_best(agent, good, mask), 1);
    CHECK_EQ_I(rllb_nn_dqn_act(agent, good, mask), 1);
    CHECK_EQ_I(rllb_nn_dqn_update(agent, NULL), RLLB_ERROR_NOT_FINITE);
    CHECK_EQ_I(load(agent, &before), RLLB_OK); /* the last good state heals it */
    CHECK_EQ_I(rllb_nn_dqn_update(agent, NULL), RLLB_OK);
    free(before.data);
    rllb_nn_dqn_destroy(agent);
}

TEST(target_updates)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    world w;
    float *target;
    double worst = 0;
    size_t i;
    int step, hard = 0, soft = 0;

    describe(&d, false);
    d.tau = 0.25f;
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    target = nn_floats(agent->net->floats);
    CHECK_MEM(agent->target->data, agent->net->data, sizeof(float) * agent->net->floats);
    world_start(&w, 4);
    for (step = 0; step < 60; step++) {
        int64_t updates = rllb_nn_dqn_updates(agent);
        memcpy(target, agent->target->data, sizeof(float) * agent->net->floats);
        live(agent, &w, false, 1);
        if (rllb_nn_dqn_updates(agent) == updates) continue;
        soft++;
        for (i = 0; i < agent->net->floats; i++) {
            double should = 0.25 * (double)agent->net->data[i] + 0.75 * (double)target[i];
            worst = nn_worse(worst, fabs((double)agent->target->data[i] - should));
        }
    }
    CHECK_EQ_I(soft, 60 - d.batch + 1);
    CHECK(worst < 1e-7);
    rllb_nn_dqn_destroy(agent);
    free(target);
    d.target_every = 5;
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    target = nn_floats(agent->net->floats);
    memcpy(target, agent->target->data, sizeof(float) * agent->net->floats);
    world_start(&w, 4);
    for (step = 0; step < 60; step++) {
        int64_t updates = rllb_nn_dqn_updates(agent);
        live(agent, &w, false, 1);
        if (rllb_nn_dqn_updates(agent) != updates && rllb_nn_dqn_updates(agent) % 5 == 0) {
            hard++;
            memcpy(target, agent->net->data, sizeof(float) * agent->net->floats);
        }
        CHECK_MEM(agent->target->data, target, sizeof(float) * agent->net->floats);
    }
    CHECK_EQ_I(hard, (60 - d.batch + 1) / 5);
    rllb_nn_dqn_destroy(agent);
    free(target);
}

TEST(epsilon_counts_episodes_or_steps)
{
    rllb_nn_dqn_desc d, asked;
    rllb_nn_dqn *agent;
    const float obs[4] = { 0, 0, 0, 0 };
    int i;

    describe(&d, false);
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 1, 0);
    rllb_nn_dqn_observe(agent, obs, 0, 0, obs, NULL, false, false);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 1, 0);
    rllb_nn_dqn_observe(agent, obs, 0, 0, obs, NULL, true, false);
    rllb_nn_dqn_observe(agent, obs, 0, 0, obs, NULL, false, true);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 0.995 * 0.995, 1e-12);
    CHECK_EQ_I(rllb_nn_dqn_episodes(agent), 2);
    for (i = 0; i < 2000; i++) rllb_nn_dqn_observe(agent, obs, 0, 0, obs, NULL, true, false);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 0.01, 0);
    rllb_nn_dqn_query(agent, &asked);
    CHECK(asked.batch == 16 && asked.learn_start == 16 && asked.loss == RLLB_NN_HUBER && asked.opt.clip_norm == 1);
    CHECK(asked.net.activation == RLLB_NN_LEAKY_RELU && asked.opt.kind == RLLB_NN_ADAM && asked.replay.n_step == 1);
    rllb_nn_dqn_destroy(agent);
    d.epsilon_per_step = true;
    d.epsilon.curve = RLLB_NN_LINEAR_DECAY;
    d.epsilon.from = 0.8;
    d.epsilon.to = 0.2;
    d.epsilon.steps = 3;
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    rllb_nn_dqn_observe(agent, obs, 0, 0, obs, NULL, false, false);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 0.6, 1e-12);
    rllb_nn_dqn_observe(agent, obs, 0, 0, obs, NULL, false, false);
    CHECK_NEAR(rllb_nn_dqn_epsilon(agent), 0.4, 1e-12);
    rllb_nn_dqn_destroy(agent);
}

/* gamma -1: targets are the rewards alone; the network learns the reward of each action as it is. */
TEST(a_bandit_learns_its_rewards)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    float obs[4], q[ACTS], off = 0;
    rllb_nn_work *work;
    rllb_rng rng;
    int i, a, right = 0;

    describe(&d, false);
    d.gamma = -1;
    d.opt.lr.curve = RLLB_NN_COSINE;
    d.opt.lr.from = 3e-3;
    d.opt.lr.to = 1e-5;
    d.opt.lr.steps = 3000;
    d.batch = 32;
    d.replay.capacity = 2000;
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    rllb_rng_init(&rng, 5, 0);
    for (i = 0; i < 3000; i++) {
        nn_fill(&rng, obs, 4);
        a = i % ACTS;
        rllb_nn_dqn_observe(agent, obs, a, obs[a] - 0.5f * obs[3], obs, NULL, false, false);
        rllb_nn_dqn_update(agent, NULL);
    }
    for (i = 0; i < 2000; i++) CHECK(agent->replay->discount[i] == 0);
    work = rllb_nn_work_create(rllb_nn_dqn_net(agent), 1, false);
    REQUIRE(work);
    for (i = 0; i < 500; i++) {
        int best = 0;
        nn_fill(&rng, obs, 4);
        rllb_nn_forward(rllb_nn_dqn_net(agent), work, obs, 1, q);
        for (a = 0; a < ACTS; a++) {
            off += fabsf(q[a] - (obs[a] - 0.5f * obs[3])) / (500 * ACTS);
            if (obs[a] > obs[best]) best = a;
        }
        right += rllb_nn_dqn_best(agent, obs, NULL) == best;
    }
    NOTE("mean error %.3f, best action in %d of 500", (double)off, right);
    CHECK(off < 0.05f);
    CHECK(right > 475);
    rllb_nn_work_destroy(work);
    rllb_nn_dqn_destroy(agent);
}

TEST(wrong_learners_are_refused)
{
    rllb_nn_dqn_desc good, d;
    rllb_nn_dqn *agent = NULL;
    char memory[64];

#define WRONG(change)                                                                         \
    d = good;                                                                                 \
    d.change;                                                                                 \
    CHECK_EQ_I(rllb_nn_dqn_size(&d), 0);                                                      \
    CHECK_EQ_I(rllb_nn_dqn_init(&d, memory, sizeof memory, &agent), RLLB_ERROR_ARGUMENT);     \
    CHECK(rllb_nn_dqn_create(&d) == NULL)
    describe(&good, false);
    CHECK(rllb_nn_dqn_size(&good) > 0);
    WRONG(net.inputs = 0);
    WRONG(net.outputs = -1);
    WRONG(net.outputs = RLLB_NN_UNITS_MAX + 1);
    WRONG(net.hidden[1] = -1);
    WRONG(net.hidden[0] = RLLB_NN_UNITS_MAX + 1);
    WRONG(net.activation = RLLB_NN_ACTIVATION_NUM);
    WRONG(net.leak = 1.5f);
    WRONG(net.leak = (float)NAN);
    WRONG(net.dueling = -1);
    WRONG(opt.kind = RLLB_NN_OPT_NUM);
    WRONG(opt.lr.from = -1);
    WRONG(opt.beta1 = 1);
    WRONG(opt.eps = (float)NAN);
    WRONG(replay.capacity = -1);
    WRONG(replay.n_step = 1025);
    WRONG(replay.alpha = 1.5f);
    WRONG(gamma = 1.01f);
    WRONG(gamma = (float)NAN);
    WRONG(batch = -1);
    WRONG(learn_start = 151); /* more than the replay ever holds */
    WRONG(tau = 1.5f);
    WRONG(tau = -1);
    WRONG(target_every = -1);
    WRONG(loss = RLLB_NN_LOSS_NUM);
    WRONG(epsilon.curve = RLLB_NN_CURVE_NUM; d.epsilon.from = 1);
#undef WRONG
    CHECK(rllb_nn_dqn_create(NULL) == NULL);
    CHECK(agent == NULL);
    d = good;
    d.batch = 500; /* larger than the replay: learning starts when that is full */
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    rllb_nn_dqn_query(agent, &d);
    CHECK_EQ_I(d.learn_start, 150);
    rllb_nn_dqn_destroy(agent);
#ifdef RLLB_NN_I_X86
    d = good;
    d.net.isa = RLLB_NN_ISA_NEON;
    {
        size_t size = rllb_nn_dqn_size(&d);
        void *block = malloc(size);
        REQUIRE(block);
        CHECK_EQ_I(rllb_nn_dqn_init(&d, block, size, &agent), RLLB_ERROR_ISA);
        free(block);
    }
#endif
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

typedef rllb_status (*init_fn)(void *mem, size_t size);

static rllb_nn_net *the_net;

static void small(rllb_nn_dqn_desc *d)
{
    describe(d, true);
    d->net.hidden[0] = 5;
    d->net.hidden[1] = 3;
    d->net.dueling = 2;
    d->replay.capacity = 20;
    d->batch = 4;
}

static rllb_status init_net(void *mem, size_t size)
{
    rllb_nn_dqn_desc d;
    rllb_nn_net *net;
    rllb_nn_work *work;
    float x[4] = { 1, 2, 3, 4 }, y[ACTS];
    rllb_status status;

    small(&d);
    status = rllb_nn_net_init(&d.net, mem, size, &net);
    if (status != RLLB_OK) return status;
    work = rllb_nn_work_create(net, 1, false);
    if (!work) return RLLB_ERROR_OUT_OF_MEMORY;
    rllb_nn_forward(net, work, x, 1, y);
    rllb_nn_work_destroy(work);
    return RLLB_OK;
}

static rllb_status init_work(void *mem, size_t size)
{
    rllb_nn_work *work;
    float x[8 * 4] = { 1, 2, 3 }, y[8 * ACTS], dx[8 * 4], *gradient;
    rllb_status status = rllb_nn_work_init(the_net, 8, true, mem, size, &work);

    if (status != RLLB_OK) return status;
    gradient = nn_floats(rllb_nn_net_floats(the_net));
    rllb_nn_forward(the_net, work, x, 8, y);
    rllb_nn_backward(the_net, work, y, 8, gradient, dx);
    free(gradient);
    return RLLB_OK;
}

static rllb_status init_opt(void *mem, size_t size)
{
    rllb_nn_opt_desc d;
    rllb_nn_opt *opt;
    float *p, *g;
    rllb_status status;

    memset(&d, 0, sizeof d);
    status = rllb_nn_opt_init(&d, 48, mem, size, &opt);
    if (status != RLLB_OK) return status;
    p = nn_floats(48);
    g = nn_floats(48);
    g[3] = 1;
    status = rllb_nn_opt_step(opt, p, g, NULL);
    free(p);
    free(g);
    return status;
}

static rllb_status init_replay(void *mem, size_t size)
{
    rllb_nn_replay_desc d;
    rllb_nn_replay *r;
    rllb_nn_batch b = room_for_batch();
    float obs[OBS] = { 1, 2 }, error[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    rllb_status status;
    int i;

    memset(&d, 0, sizeof d);
    d.observations = OBS;
    d.capacity = 7;
    d.n_step = 3;
    d.prioritized = d.masks = true;
    d.actions = ACTS;
    status = rllb_nn_replay_init(&d, mem, size, &r);
    for (i = 0; status == RLLB_OK && i < 20; i++) {
        status = rllb_nn_replay_observe(r, obs, 1, 1, obs, NULL, false, i % 5 == 4);
    }
    if (status == RLLB_OK) status = rllb_nn_replay_sample(r, 9, &b);
    if (status == RLLB_OK) rllb_nn_replay_update(r, b.index, error, 9);
    return status;
}

static rllb_status init_dqn(void *mem, size_t size)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    world w;
    rllb_status status;

    small(&d);
    status = rllb_nn_dqn_init(&d, mem, size, &agent);
    if (status != RLLB_OK) return status;
    world_start(&w, 6);
    return live(agent, &w, true, 30) ? RLLB_OK : RLLB_STATUS_NUM;
}

/* Any address will do, and one byte less than asked for is refused. The block is exact: a sanitizer sees more. */
TEST(blocks_at_any_address)
{
    rllb_nn_dqn_desc d;
    rllb_nn_opt_desc opt;
    rllb_nn_replay_desc replay;
    size_t sizes[5], offset;
    const init_fn inits[5] = { init_net, init_work, init_opt, init_replay, init_dqn };
    int k;

    small(&d);
    the_net = rllb_nn_net_create(&d.net);
    REQUIRE(the_net);
    memset(&opt, 0, sizeof opt);
    memset(&replay, 0, sizeof replay);
    replay.observations = OBS;
    replay.capacity = 7;
    replay.n_step = 3;
    replay.prioritized = replay.masks = true;
    replay.actions = ACTS;
    sizes[0] = rllb_nn_net_size(&d.net);
    sizes[1] = rllb_nn_work_size(the_net, 8, true);
    sizes[2] = rllb_nn_opt_size(&opt, 48);
    sizes[3] = rllb_nn_replay_size(&replay);
    sizes[4] = rllb_nn_dqn_size(&d);
    for (k = 0; k < 5; k++) {
        CHECK(sizes[k] > 0 && sizes[k] != SIZE_MAX);
        for (offset = 0; offset < 64; offset++) {
            unsigned char *memory = (unsigned char *)malloc(sizes[k] + offset);
            REQUIRE(memory);
            NOTE("object %d at %d", k, (int)offset);
            CHECK_EQ_I(inits[k](memory + offset, sizes[k] - 1), RLLB_ERROR_MEMORY_SIZE);
            CHECK_EQ_I(inits[k](memory + offset, sizes[k]), RLLB_OK);
            free(memory);
        }
        CHECK_EQ_I(inits[k](NULL, sizes[k]), RLLB_ERROR_ARGUMENT);
    }
    CHECK_EQ_I(rllb_nn_work_size(the_net, 0, true), 0);
    CHECK_EQ_I(rllb_nn_opt_size(&opt, 47), 0);
    CHECK_EQ_I(rllb_nn_opt_size(&opt, 0), 0);
    rllb_nn_net_destroy(the_net);
}

TEST(a_failing_allocator_is_survived)
{
    rllb_nn_dqn_desc d;
    rllb_nn_opt_desc opt;
    rllb_nn_net *net;

    small(&d);
    memset(&opt, 0, sizeof opt);
    d.replay.observations = OBS;
    d.replay.actions = ACTS;
    net = rllb_nn_net_create(&d.net);
    REQUIRE(net);
    block_calls = 0;
    block_fails = 1;
    CHECK(rllb_nn_net_create(&d.net) == NULL);
    CHECK(rllb_nn_work_create(net, 3, true) == NULL);
    CHECK(rllb_nn_opt_create(&opt, 16) == NULL);
    CHECK(rllb_nn_replay_create(&d.replay) == NULL);
    CHECK(rllb_nn_dqn_create(&d) == NULL);
    block_fails = 0;
    CHECK_EQ_I(block_calls, 5); /* one block each */
    rllb_nn_net_destroy(net);
    rllb_nn_net_destroy(NULL);
    rllb_nn_work_destroy(NULL);
    rllb_nn_opt_destroy(NULL);
    rllb_nn_replay_destroy(NULL);
    rllb_nn_dqn_destroy(NULL);
}

/* Acting, observing, learning, saving and loading in memory allocate nothing, by whatever name. */
TEST(nothing_is_allocated_after_init)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    rllb_nn_work *work;
    rllb_nn_entry entries[RLLB_NN_DQN_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 };
    rllb_nn_dqn_report report;
    rllb_nn_meta meta[RLLB_NN_NET_METAS];
    rllb_nn_net_desc net_desc;
    static unsigned char file[1 << 18];
    char text[80];
    float y[5 * ACTS];
    const float x[5 * 4] = { 1, 2 };
    world w;
    size_t size;
    void *volatile one_byte = NULL; /* compilers leave out what nobody sees */
    bool ok;
    long blocks, heap;

    describe(&d, true);
    agent = rllb_nn_dqn_create(&d);
    REQUIRE(agent);
    work = rllb_nn_work_create(rllb_nn_dqn_net(agent), 5, false);
    REQUIRE(work);
    world_start(&w, 7);
    blocks = block_calls;
    heap = heap_calls;
    ok = live(agent, &w, true, 400);
    ok = rllb_nn_dqn_update(agent, &report) == RLLB_OK && ok;
    rllb_nn_forward(rllb_nn_dqn_net(agent), work, x, 5, y);
    rllb_nn_dqn_entries(agent, &a);
    size = rllb_nn_archive_size(&a, meta, rllb_nn_net_meta(rllb_nn_dqn_net(agent), text, meta));
    ok = rllb_nn_archive_save(&a, meta, RLLB_NN_NET_METAS, file, sizeof file) == RLLB_OK && ok;
    ok = rllb_nn_archive_load(&a, file, size, NULL) == RLLB_OK && ok;
    ok = rllb_nn_net_desc_load(file, size, "target.", &net_desc) == RLLB_OK && ok;
    heap = heap_calls - heap;
    blocks = block_calls - blocks;
    CHECK(ok);
    CHECK_EQ_I(blocks, 0);
    CHECK_EQ_I(heap, 0);
#ifdef HEAP_IS_COUNTED
    heap = heap_calls;
    one_byte = malloc(1);
    free(one_byte);
    CHECK(heap_calls == heap + 2); /* the count does count */
#else
    (void)one_byte;
    NOTE("malloc itself is not counted in this build");
#endif
    rllb_nn_work_destroy(work);
    rllb_nn_dqn_destroy(agent);
}
