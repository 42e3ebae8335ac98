/* test_nn_threads.c - one network, set up once, serves many threads, each with a work of its own. ThreadSanitizer runs
   this too. */

#include <pthread.h>

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"

enum { THREADS = 4, QUESTIONS = 300, BATCH = 9 };

typedef struct server {
    pthread_t thread;
    const rllb_nn_net *net;
    const float *x;
    int32_t inputs, outputs, first;
    float *y; /* [QUESTIONS][outputs] */
    int32_t best[QUESTIONS];
    bool made;
} server;

/* Single rows, batches, choices, and a greedy policy; each thread begins elsewhere. */
static void *serve(void *self)
{
    server *s = (server *)self;
    rllb_nn_work *work = rllb_nn_work_create(s->net, BATCH, false);
    rllb_nn_greedy greedy = { s->net, work };
    int32_t i, q;

    s->made = work != NULL;
    for (i = 0; work && i < QUESTIONS; i++) {
        q = (i + s->first) % QUESTIONS;
        rllb_nn_forward(s->net, work, s->x + q * s->inputs, 1, s->y + q * s->outputs);
        s->best[q] = rllb_nn_best(s->net, work, s->x + q * s->inputs, NULL);
        if (rllb_nn_greedy_choose(&greedy, s->x + q * s->inputs, s->inputs) != s->best[q]) s->made = false;
    }
    for (q = 0; work && q + BATCH <= QUESTIONS / 2; q += BATCH) {
        rllb_nn_forward(s->net, work, s->x + q * s->inputs, BATCH, s->y + q * s->outputs);
    }
    rllb_nn_work_destroy(work);
    return NULL;
}

TEST(one_network_serves_four_threads)
{
    rllb_nn_net_desc d;
    rllb_rng rng;
    int i, t;

    rllb_rng_init(&rng, 51, 0);
    for (i = 0; nn_shape(i, &d); i += 3) {
        server s[THREADS + 1];
        rllb_nn_net *net = rllb_nn_net_create(&d);
        float *x = (float *)malloc(sizeof(float) * (size_t)(QUESTIONS * d.inputs));
        REQUIRE(net && x);
        nn_fill(&rng, x, (size_t)(QUESTIONS * d.inputs));
        for (t = 0; t <= THREADS; t++) { /* the last one is this thread, alone: what all should answer */
            memset(&s[t], 0, sizeof s[t]);
            s[t].net = net;
            s[t].x = x;
            s[t].inputs = d.inputs;
            s[t].outputs = d.outputs;
            s[t].first = t * QUESTIONS / THREADS;
            s[t].y = (float *)calloc((size_t)(QUESTIONS * d.outputs), sizeof(float));
            REQUIRE(s[t].y);
        }
        serve(&s[THREADS]);
        for (t = 0; t < THREADS; t++) REQUIRE(pthread_create(&s[t].thread, NULL, serve, &s[t]) == 0);
        for (t = 0; t < THREADS; t++) REQUIRE(pthread_join(s[t].thread, NULL) == 0);
        for (t = 0; t < THREADS; t++) {
            CHECK(s[t].made);
            CHECK_MEM(s[t].y, s[THREADS].y, sizeof(float) * (size_t)(QUESTIONS * d.outputs));
            CHECK_MEM(s[t].best, s[THREADS].best, sizeof s[t].best);
        }
        for (t = 0; t <= THREADS; t++) free(s[t].y);
        free(x);
        rllb_nn_net_destroy(net);
    }
}

/* Learners are one thread's own; several at once do not know of each other. */
static void *learn(void *self)
{
    uint64_t *digest = (uint64_t *)self;
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    rllb_rng rng;
    float now[3], next[3];
    size_t f;
    int i;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = d.net.outputs = 3;
    d.batch = 16;
    d.replay.capacity = 100;
    d.replay.prioritized = true;
    d.seed = 4;
    agent = rllb_nn_dqn_create(&d);
    if (!agent) return NULL;
    rllb_rng_init(&rng, 52, 0);
    nn_fill(&rng, now, 3);
    for (i = 0; i < 150; i++) {
        int32_t action = rllb_nn_dqn_act(agent, now, NULL);
        nn_fill(&rng, next, 3);
        rllb_nn_dqn_observe(agent, now, action, next[action], next, NULL, i % 20 == 19, false);
        rllb_nn_dqn_update(agent, NULL);
        memcpy(now, next, sizeof now);
    }
    *digest = 1;
    for (f = 0; f < agent->net->floats; f++) {
        uint32_t bits;
        memcpy(&bits, &agent->net->data[f], sizeof bits);
        *digest = (*digest ^ bits) * UINT64_C(0x100000001b3);
    }
    rllb_nn_dqn_destroy(agent);
    return NULL;
}

TEST(learners_side_by_side)
{
    pthread_t thread[THREADS];
    uint64_t digest[THREADS + 1] = { 0, 0, 0, 0, 0 };
    int t;

    learn(&digest[THREADS]);
    CHECK(digest[THREADS] != 0);
    for (t = 0; t < THREADS; t++) REQUIRE(pthread_create(&thread[t], NULL, learn, &digest[t]) == 0);
    for (t = 0; t < THREADS; t++) REQUIRE(pthread_join(thread[t], NULL) == 0);
    for (t = 0; t < THREADS; t++) CHECK_EQ_U(digest[t], digest[THREADS]);
}
