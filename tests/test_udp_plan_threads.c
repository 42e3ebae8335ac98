/* The plans that pass from control to the data thread of the UDP allocator: both at once, without a lock. Whatever the
   data thread reads is one plan, whole, and none older than the one before. ThreadSanitizer runs this too. */

#include "../examples/udp/udp.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { READS = 40000, PLANS_LEAST = 2000, PLANS_MET = 100, ENTRIES = 96 };

typedef struct world {
    ud_plans plans;
    uint64_t stop, published;
    int64_t torn, backwards, plans_met, last, reads; /* of the data thread */
} world;

static int32_t count_of(uint32_t turn)
{
    return 1 + (int32_t)(turn * 7 % ENTRIES);
}

/* All entries of a plan tell which one it is. */
static int32_t entry_of(uint32_t turn)
{
    return (int32_t)(turn % UD_CLIENTS_MOST);
}

static void publish(ud_plans *p, uint32_t turn)
{
    int32_t client[ENTRIES], i;

    for (i = 0; i < ENTRIES; i++) client[i] = entry_of(turn);
    ud_plan_publish(p, client, count_of(turn));
}

static void look(world *w, uint32_t turn)
{
    if (turn < w->last) w->backwards++;
    if (turn > w->last) w->plans_met++;
    w->last = turn;
}

static void *data(void *user)
{
    world *w = user;
    float cost[UD_CLIENTS_MOST];
    int32_t i, k;

    for (i = 0; i < UD_CLIENTS_MOST; i++) cost[i] = 1;
    while (!ud_load(&w->published)) sched_yield();
    for (i = 0; i < READS || w->last < PLANS_LEAST || w->plans_met < PLANS_MET; i++) {
        const ud_plan *p = ud_plan_newest(&w->plans);
        look(w, p->turn);
        w->torn += p->count != count_of(p->turn);
        for (k = 0; k < p->count; k++) w->torn += p->client[k] != entry_of(p->turn);
        k = ud_plan_choose(&w->plans, cost, UD_CLIENTS_MOST);
        p = &w->plans.plan[w->plans.front]; /* it may be a newer one by now */
        look(w, p->turn);
        w->torn += k != entry_of(p->turn);
        if (i % 64 == 0) sched_yield();
    }
    w->reads = i;
    ud_store(&w->stop, 1);
    return NULL;
}

TEST(plans_pass_whole)
{
    world *w = calloc(1, sizeof *w);
    pthread_t thread;
    uint64_t used, most = 0;
    uint32_t turn = 0;

    REQUIRE(w);
    ud_plan_open(&w->plans);
    REQUIRE(pthread_create(&thread, NULL, data, w) == 0);
    while (!ud_load(&w->stop)) {
        publish(&w->plans, ++turn);
        ud_store(&w->published, turn);
        used = ud_plan_used(&w->plans);
        if (used > most) most = used;
        if (turn % 8 == 0) sched_yield();
    }
    pthread_join(thread, NULL);
    NOTE("%u plans published, %lld met", (unsigned)turn, (long long)w->plans_met);
    CHECK_EQ_I(w->torn, 0);
    CHECK_EQ_I(w->backwards, 0);
    CHECK(w->plans_met >= PLANS_MET);
    CHECK(w->last >= PLANS_LEAST);
    CHECK_EQ_I(ud_plan_newest(&w->plans)->turn, turn); /* the newest, after all */
    CHECK(most <= (uint64_t)w->reads * 3);
    free(w);
}

/* The same in one thread, step by step. */
TEST(the_newest_is_in_force)
{
    ud_plans *p = malloc(sizeof *p);
    const int32_t first[] = { 3, 1 }, second[] = { 2 };
    const float cost[4] = { 4, 3, 2, 1 }, three_down[4] = { 4, 3, 2, INFINITY }, all_down[1] = { INFINITY };
    int32_t i;

    REQUIRE(p);
    ud_plan_open(p);
    CHECK_EQ_I(ud_plan_choose(p, cost, 4), 3); /* no plan: the least cost */
    CHECK_EQ_I(ud_plan_choose(p, three_down, 4), 2);
    CHECK_EQ_I(ud_plan_choose(p, all_down, 1), -1);
    ud_plan_publish(p, first, 2);
    CHECK_EQ_U(ud_plan_used(p), 0);
    for (i = 0; i < 5; i++) CHECK_EQ_I(ud_plan_choose(p, cost, 4), first[i % 2]); /* used up, it begins anew */
    CHECK_EQ_U(ud_plan_used(p), 5);
    CHECK_EQ_I(ud_plan_choose(p, three_down, 4), 1); /* who is not usable is passed over */
    CHECK_EQ_I(ud_plan_choose(p, three_down, 4), 1);
    for (i = 0; i < 7; i++) ud_plan_publish(p, first, 1); /* nobody chooses meanwhile: none waits */
    ud_plan_publish(p, second, 1);
    CHECK_EQ_U(ud_plan_used(p), 0);
    CHECK_EQ_I(ud_plan_choose(p, cost, 4), 2);
    CHECK_EQ_U(ud_plan_used(p), 1);
    CHECK_EQ_I(ud_plan_choose(p, cost, 2), 1); /* an index that is gone: the least cost */
    ud_plan_publish(p, NULL, 0);
    CHECK_EQ_I(ud_plan_choose(p, cost, 4), 3);
    free(p);
}
