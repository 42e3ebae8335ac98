/* test_balancer.c - the balancer around its policies: what it refuses, what it counts, who shares it

   Descriptors, bad input, servers that come and go, several handles on one block, memory. The policies themselves are
   in test_balancer_policies.c, reservoirs, features and rewards in test_balancer_observe.c. */

#define RLLB_STATIC
#include "test_balancer.h"

/* It still works: a request can be picked and ended, and the counts move by one. */
static bool serves(rllb_balancer *b, double now_s)
{
    int32_t server = rllb_balancer_pick(b, 0, now_s);
    rllb_server_info before, after;

    if (server < 0) return false;
    before = info_of(b, server);
    if (rllb_balancer_done(b, server, now_s, now_s, RLLB_OUTCOME_OK) != RLLB_OK) return false;
    after = info_of(b, server);
    return after.in_flight == before.in_flight - 1 && after.done == before.done + 1 && after.in_flight >= 0;
}

/* Every pick ended, is in flight, or was lost. */
static bool adds_up(const rllb_balancer *b)
{
    int32_t i;

    for (i = 0; i < rllb_balancer_servers(b); i++) {
        rllb_server_info info;
        if (rllb_balancer_server(b, i, &info) != RLLB_OK) continue;
        if (info.in_flight < 0 || info.picks != info.done + (uint64_t)info.in_flight + info.lost) return false;
    }
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------- */

TEST(policy_names)
{
    char all[1000] = "";
    int32_t i;

    for (i = 0; i < RLLB_BALANCE_NUM; i++) {
        const char *name = rllb_balance_name((rllb_balance)i);
        REQUIRE(name && name[0]);
        CHECK_EQ_I(rllb_balance_of(name), i);
        if (i) strcat(all, ", ");
        strcat(all, name);
    }
    CHECK_STR(rllb_balance_names(), all);
    CHECK_STR(rllb_balance_name(RLLB_BALANCE_SED), "sed");
    CHECK_STR(rllb_balance_name(RLLB_BALANCE_SED_ORACLE), "sed_oracle");
    CHECK_EQ_I(rllb_balance_of("peak_ewma"), RLLB_BALANCE_PEAK_EWMA);
    CHECK_EQ_I(RLLB_BALANCE_SED, 0);
    CHECK(rllb_balance_name(RLLB_BALANCE_NUM) == NULL);
    CHECK(rllb_balance_name((rllb_balance)-1) == NULL);
    CHECK_EQ_I(rllb_balance_of("SED"), -1);
    CHECK_EQ_I(rllb_balance_of("sed "), -1);
    CHECK_EQ_I(rllb_balance_of("se"), -1);
    CHECK_EQ_I(rllb_balance_of(""), -1);
    CHECK_EQ_I(rllb_balance_of(NULL), -1);
    CHECK_EQ_I(rllb_balance_of("least_load"), -1); /* a policy of the load vector, not of the balancer */
}

/* ---- descriptors ------------------------------------------------------------------------------------------- */

static int32_t some_choice(void *self, const float *observation, int32_t observations)
{
    (void)self;
    (void)observation;
    return observations - 1;
}

TEST(defaults)
{
    rllb_balancer_desc d, out, zero;
    rllb_balancer *b;

    memset(&zero, 0, sizeof zero);
    memset(&out, 0xff, sizeof out);
    memset(&d, 0xff, sizeof d);
    rllb_balancer_desc_default(&d);
    CHECK_MEM(&d, &zero, sizeof d);
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_query(b, &out);
    CHECK_EQ_I(out.policy, RLLB_BALANCE_SED);
    CHECK(out.servers == NULL);
    CHECK_EQ_I(out.count, 0);
    CHECK_EQ_I(out.capacity, 64);
    CHECK_STR(out.name, "rllb");
    CHECK_EQ_I(out.ties, RLLB_TIES_RANDOM);
    CHECK_EQ_I(out.d, 3);
    CHECK_NEAR(out.a, 1, 0);
    CHECK_NEAR(out.gamma, 0, 0);
    CHECK_NEAR(out.bound, 0.25, 0);
    CHECK_EQ_I(out.table, 65537);
    CHECK_NEAR(out.ewma_s, 10, 0);
    CHECK_NEAR(out.clients, 1, 0);
    CHECK_NEAR(out.hot, 0.84f, 0);
    CHECK_NEAR(out.reply_s, 1, 0);
    CHECK_EQ_I(out.reuse, 3);
    CHECK_NEAR(out.eta, 0.05f, 0);
    CHECK_NEAR(out.equalise_s, 2, 0);
    CHECK_NEAR(out.interval_s, 0.25, 0);
    CHECK_EQ_I(out.slots, 0);
    CHECK_NEAR(out.keep, 1, 0);
    CHECK_NEAR(out.discount, 0.9f, 0);
    CHECK_EQ_I(out.reward, RLLB_REWARD_JAIN);
    CHECK_EQ_I(out.reward_field, 5);
    CHECK_NEAR(out.reward_newest, 0.9f, 0);
    CHECK_NEAR(out.guard.floor, 0.01f, 0);
    CHECK_NEAR(out.guard.ceiling, 100, 0);
    CHECK_NEAR(out.guard.rate, 4, 0);
    CHECK_NEAR(out.guard.deadline_s, 5, 0);
    CHECK_NEAR(out.guard.eject_failures, 5, 0);
    CHECK_NEAR(out.guard.eject_rate, 0.5, 0);
    CHECK_NEAR(out.guard.eject_s, 1, 0);
    CHECK_NEAR(out.guard.eject_longest_s, 4, 0);
    CHECK_NEAR(out.guard.eject_share, 0.5, 0);
    CHECK_NEAR(out.guard.panic, 0.5, 0);
    CHECK_NEAR(out.guard.slow_start_s, 5, 0);
    CHECK_NEAR(out.guard.minimum_share, 0.01f, 0);
    CHECK_NEAR(out.guard.failure_s, 1, 0);
    CHECK_EQ_I(out.fallback, RLLB_BALANCE_SED);
    CHECK_EQ_I(out.workers, 1);
    rllb_balancer_destroy(b);
    d.policy = RLLB_BALANCE_EQUALISE;
    d.by_stretch = true;
    d.features = RLLB_FEATURES_NEURIPS;
    d.count = 700;
    d.name = "edge";
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    rllb_balancer_query(b, &out);
    CHECK_EQ_I(out.reward_field, 10); /* the discounted mean of C */
    CHECK_EQ_I(out.slots, 128);
    CHECK_EQ_I(out.capacity, 700);
    CHECK_EQ_I(out.count, 700);
    CHECK_EQ_I(out.table, 70001); /* the first prime above a hundred times 700 */
    CHECK_NEAR(out.eta, 0.02f, 0);
    CHECK_STR(out.name, "edge");
    rllb_balancer_destroy(b);
}

/* Refused by size, init and create alike; *out is left alone. */
static void refused(const rllb_balancer_desc *d, int line)
{
    static unsigned char memory[1 << 16];
    rllb_balancer *untouched = (rllb_balancer *)(void *)memory, *out = untouched, *made = rllb_balancer_create(d);
    rllb_status status = rllb_balancer_init(d, memory, sizeof memory, &out);

    NOTE("line %d", line);
    CHECK_EQ_U(rllb_balancer_size(d), 0);
    CHECK(status == RLLB_ERROR_ARGUMENT || status == RLLB_ERROR_LIMIT);
    CHECK(out == untouched);
    CHECK(made == NULL);
    rllb_balancer_destroy(made);
}

static void accepted(const rllb_balancer_desc *desc, int line)
{
    rllb_balancer *b = rllb_balancer_create(desc);

    NOTE("line %d", line);
    CHECK(b != NULL);
    if (b && desc->count > 0) CHECK(serves(b, 1));
    rllb_balancer_destroy(b);
}

#define REFUSED(change)                                \
    do {                                               \
        rllb_balancer_desc d = plain((rllb_balance)0, 3); \
        change;                                        \
        refused(&d, __LINE__);                         \
    } while (0)
#define ACCEPTED(change)                               \
    do {                                               \
        rllb_balancer_desc d = plain((rllb_balance)0, 3); \
        change;                                        \
        accepted(&d, __LINE__);                        \
    } while (0)

TEST(descriptor_sizes_refused)
{
    rllb_server_desc three[3] = { { "a", 1 }, { "b", 2 }, { "c", 3 } };
    static const float wrong[6] = { 0, -1, -0.0f, (float)NAN, (float)INFINITY, -(float)INFINITY };
    int32_t i;

    CHECK_EQ_U(rllb_balancer_size(NULL), 0);
    CHECK(rllb_balancer_create(NULL) == NULL);
    REFUSED(d.policy = (rllb_balance)-1);
    REFUSED(d.policy = RLLB_BALANCE_NUM);
    REFUSED(d.policy = (rllb_balance)1000);
    REFUSED(d.count = -1);
    REFUSED(d.capacity = -1);
    REFUSED(d.capacity = 2);
    REFUSED(d.count = RLLB_BALANCER_SERVERS_MAX + 1);
    REFUSED(d.capacity = RLLB_BALANCER_SERVERS_MAX + 1);
    ACCEPTED(d.capacity = 3);
    ACCEPTED(d.count = 0);
    ACCEPTED((d.count = 0, d.capacity = 1));
    ACCEPTED(d.servers = three);
    for (i = 0; i < 6; i++) {
        three[2].weight = wrong[i];
        REFUSED(d.servers = three);
        ACCEPTED((d.servers = three, d.count = 2));
    }
    REFUSED(d.ties = (rllb_ties)-1);
    REFUSED(d.ties = (rllb_ties)3);
    REFUSED(d.workers = -1);
    REFUSED(d.workers = RLLB_BALANCER_WORKERS_MAX + 1);
    REFUSED(d.worker = 1);
    REFUSED((d.workers = 4, d.worker = 4));
    REFUSED((d.workers = 4, d.worker = -2));
}

/* Several workers need a block to share, aligned; nobody joins what is not there. */
TEST(descriptor_needs_a_block)
{
    static unsigned char memory[1 << 18];
    unsigned char *base = memory + (64 - (uintptr_t)memory % 64) % 64;
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_balancer *b = NULL;
    size_t size;

    d.join = true;
    refused(&d, __LINE__);
    d.join = false;
    d.workers = 4;
    d.worker = 3;
    CHECK(rllb_balancer_create(&d) == NULL);
    size = rllb_balancer_shared_size(&d);
    REQUIRE(size > 0 && size <= sizeof memory - 64);
    d.shared = base;
    d.shared_size = size;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(serves(b, 1));
    rllb_balancer_destroy(b);
    d.shared = base + 8;
    CHECK(rllb_balancer_create(&d) == NULL);
    d.shared = base;
    d.shared_size = size - 1;
    CHECK(rllb_balancer_create(&d) == NULL);
    d.shared_size = size;
    d.worker = 4;
    CHECK(rllb_balancer_create(&d) == NULL);
    d.worker = -1;
    b = rllb_balancer_create(&d);
    CHECK(b != NULL); /* the keeper may be the first */
    rllb_balancer_destroy(b);
#ifdef RLLB_I_ASAN
    ASAN_UNPOISON_MEMORY_REGION(memory, sizeof memory);
#endif
}

TEST(descriptor_numbers_refused)
{
    static const float not_finite[3] = { (float)NAN, (float)INFINITY, -(float)INFINITY };
    int32_t i;

    for (i = 0; i < 3; i++) {
        float x = not_finite[i];
        if (!(x < 0)) REFUSED(d.a = x); /* below zero it is off */
        REFUSED(d.gamma = x);
        REFUSED(d.bound = x);
        REFUSED(d.ewma_s = x);
        REFUSED(d.clients = x);
        REFUSED(d.hot = x);
        REFUSED(d.reply_s = x);
        REFUSED(d.eta = x);
        REFUSED(d.equalise_s = x);
        REFUSED(d.interval_s = x);
        REFUSED(d.keep = x);
        REFUSED(d.discount = x);
        REFUSED(d.reward_newest = x);
        REFUSED(d.blend = x);
        REFUSED(d.smoothing = x);
        REFUSED(d.spread = x);
        if (!(x < 0)) REFUSED(d.guard.floor = x); /* below zero is off */
        if (!(x < 0)) REFUSED(d.guard.ceiling = x);
        if (!(x < 0)) REFUSED(d.guard.rate = x);
        if (!(x < 0)) REFUSED(d.guard.deadline_s = x);
        if (!(x < 0)) REFUSED(d.guard.eject_failures = x);
        if (!(x < 0)) REFUSED(d.guard.eject_rate = x);
        if (!(x < 0)) REFUSED(d.guard.eject_s = x);
        if (!(x < 0)) REFUSED(d.guard.eject_longest_s = x);
        if (!(x < 0)) REFUSED(d.guard.eject_share = x);
        if (!(x < 0)) REFUSED(d.guard.panic = x);
        if (!(x < 0)) REFUSED(d.guard.slow_start_s = x);
        if (!(x < 0)) REFUSED(d.guard.minimum_share = x);
        if (!(x < 0)) REFUSED(d.guard.failure_s = x);
    }
    REFUSED(d.d = -1);
    REFUSED(d.d = 65);
    REFUSED(d.bound = -0.5f);
    REFUSED(d.ewma_s = -1);
    REFUSED(d.clients = -1);
    REFUSED(d.hot = -0.1f);
    REFUSED(d.hot = 1.5f);
    REFUSED(d.reply_s = -1);
    REFUSED(d.reuse = -1);
    REFUSED(d.equalise_s = -1);
    REFUSED(d.form = (rllb_form)3);
    REFUSED(d.form = (rllb_form)-1);
    REFUSED(d.interval_s = -1);
    REFUSED(d.slots = -1);
    REFUSED(d.slots = RLLB_BALANCER_SLOTS_MAX + 1);
    REFUSED(d.keep = -0.5f);
    REFUSED(d.keep = 1.5f);
    REFUSED(d.discount = -0.5f);
    REFUSED(d.discount = 1.5f);
    REFUSED(d.features = RLLB_FEATURES_NUM);
    REFUSED(d.features = (rllb_features)-1);
    REFUSED(d.reward = RLLB_REWARD_NUM);
    REFUSED(d.reward = (rllb_reward)-1);
    REFUSED(d.reward_field = -1);
    REFUSED((d.slots = 8, d.reward_field = 7)); /* of six */
    REFUSED((d.slots = 8, d.reward_field = 12, d.features = RLLB_FEATURES_NEURIPS));
    REFUSED((d.slots = 8, d.reward_field = 9, d.features = RLLB_FEATURES_OWN));
    ACCEPTED((d.slots = 8, d.reward_field = 11, d.features = RLLB_FEATURES_NEURIPS));
    ACCEPTED((d.slots = 8, d.reward_field = 8, d.features = RLLB_FEATURES_OWN));
    REFUSED(d.reward_newest = -0.1f);
    REFUSED(d.reward_newest = 1.1f);
    REFUSED(d.blend = -0.1f);
    REFUSED(d.blend = 1.1f);
    REFUSED(d.smoothing = -0.1f);
    REFUSED(d.spread = -0.1f);
    REFUSED(d.spread = 3.1f);
    REFUSED(d.smoothing = 1.1f);
}

TEST(descriptor_policies_refused)
{
    static const float oracle[3] = { 1, 2, 3 };

    REFUSED(d.policy = RLLB_BALANCE_GSQ); /* no oracle */
    REFUSED(d.policy = RLLB_BALANCE_SRT);
    REFUSED(d.policy = RLLB_BALANCE_SED_ORACLE);
    REFUSED(d.policy = RLLB_BALANCE_CHOOSE); /* no function */
    ACCEPTED((d.policy = RLLB_BALANCE_GSQ, d.oracle = oracle));
    ACCEPTED((d.policy = RLLB_BALANCE_SRT, d.oracle = oracle));
    ACCEPTED((d.policy = RLLB_BALANCE_SED_ORACLE, d.oracle = oracle));
    ACCEPTED((d.policy = RLLB_BALANCE_CHOOSE, d.choose = some_choice));
    REFUSED(d.fallback = (rllb_balance)-1);
    REFUSED(d.fallback = RLLB_BALANCE_NUM);
    REFUSED((d.policy = RLLB_BALANCE_LEARNED, d.fallback = RLLB_BALANCE_LEARNED)); /* falls back on itself */
    REFUSED((d.policy = RLLB_BALANCE_LEARNED, d.fallback = RLLB_BALANCE_GSQ));
    REFUSED((d.policy = RLLB_BALANCE_MAGLEV, d.fallback = RLLB_BALANCE_MAGLEV));
    ACCEPTED((d.policy = RLLB_BALANCE_LEARNED, d.fallback = RLLB_BALANCE_LSQ));
    REFUSED((d.policy = RLLB_BALANCE_MAGLEV, d.table = 65536)); /* not prime */
    REFUSED((d.policy = RLLB_BALANCE_MAGLEV, d.table = -7));
    REFUSED((d.policy = RLLB_BALANCE_MAGLEV, d.table = 2)); /* fewer entries than servers */
    ACCEPTED((d.policy = RLLB_BALANCE_MAGLEV, d.table = 101));
    ACCEPTED((d.policy = RLLB_BALANCE_MAGLEV_BOUNDED, d.table = 101));
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

/* A short life with all that is random in it, as a checksum. */
static uint64_t life(rllb_balancer *b)
{
    uint64_t sum = 0;
    int32_t i;

    for (i = 0; i < 300; i++) {
        double now = 1 + 0.01 * i;
        int32_t server = rllb_balancer_pick(b, 0, now);
        sum = sum * 31 + (uint64_t)(server + 1);
        if (i % 3) rllb_balancer_done(b, server, now - 0.005 * (server + 1), now, RLLB_OUTCOME_OK);
        rllb_balancer_tick(b, now);
    }
    return sum;
}

TEST(memory_at_any_address)
{
    static const rllb_balance policies[5] = { RLLB_BALANCE_SED, RLLB_BALANCE_DRAW, RLLB_BALANCE_MAGLEV,
                                              RLLB_BALANCE_EQUALISE, RLLB_BALANCE_PREQUAL };
    int32_t i;

    for (i = 0; i < 5; i++) {
        rllb_balancer_desc d = plain(policies[i], 7);
        unsigned char *memory;
        uint64_t expected = 0;
        size_t size, skew, k, wrong = 0;
        d.ties = RLLB_TIES_RANDOM;
        d.table = 101;
        size = rllb_balancer_size(&d);
        REQUIRE(size > 0 && size < (1 << 24));
        memory = (unsigned char *)malloc(size + 128);
        REQUIRE(memory != NULL);
        for (skew = 0; skew < 64; skew++) {
            rllb_balancer *b = NULL;
            uint64_t sum;
            memset(memory, 0xa5, skew);
            memset(memory + skew + size, 0xa5, 64);
            CHECK_EQ_I(rllb_balancer_init(&d, memory + skew, size, &b), RLLB_OK);
            REQUIRE(b != NULL);
            sum = life(b);
            if (skew == 0) expected = sum;
            CHECK_EQ_U(sum, expected);
            for (k = 0; k < skew; k++) wrong += memory[k] != 0xa5;
            for (k = 0; k < 64; k++) wrong += memory[skew + size + k] != 0xa5;
            CHECK_EQ_I(rllb_balancer_init(&d, memory + skew, size - 1, &b), RLLB_ERROR_MEMORY_SIZE);
#ifdef RLLB_I_ASAN
            ASAN_UNPOISON_MEMORY_REGION(memory, size + 128);
#endif
        }
        CHECK_EQ_U(wrong, 0);
        free(memory);
    }
}

TEST(memory_refused)
{
    static unsigned char memory[1 << 16];
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_balancer *b = NULL;
    size_t size = rllb_balancer_size(&d);

    REQUIRE(size > 0 && size <= sizeof memory);
    CHECK_EQ_I(rllb_balancer_init(NULL, memory, sizeof memory, &b), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_init(&d, NULL, sizeof memory, &b), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_init(&d, memory, sizeof memory, NULL), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_init(&d, memory, size - 1, &b), RLLB_ERROR_MEMORY_SIZE);
    CHECK_EQ_I(rllb_balancer_init(&d, memory, 0, &b), RLLB_ERROR_MEMORY_SIZE);
    CHECK(b == NULL);
    CHECK_EQ_I(rllb_balancer_init(&d, memory, size, &b), RLLB_OK);
    REQUIRE(b != NULL);
    CHECK(serves(b, 1));
}

/* ---- bad input --------------------------------------------------------------------------------------------- */

TEST(null_balancer)
{
    rllb_report report = { 1, 1, 1 };
    rllb_server_desc server = { "a", 1 };
    rllb_balancer_desc desc;
    rllb_server_info info;
    rllb_counters counters;
    int32_t index = 7, n = 7;
    float action = 1;
    char text[16];

    CHECK_EQ_I(rllb_balancer_pick(NULL, 1, 1), -1);
    CHECK_EQ_I(rllb_balancer_pick_other(NULL, NULL, 0, 1), -1);
    CHECK_EQ_I(rllb_balancer_done(NULL, 0, 1, 1, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_sample(NULL, 0, 1, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_report(NULL, 0, &report, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_probe(NULL, &index, 1), 0);
    CHECK(!rllb_balancer_tick(NULL, 1));
    CHECK(rllb_balancer_observe(NULL, &n) == NULL);
    CHECK_EQ_I(rllb_balancer_act(NULL, &action, 1, 1), RLLB_ERROR_ARGUMENT);
    CHECK(isnan(rllb_balancer_reward(NULL)));
    CHECK(isnan(rllb_balancer_reward_shared(NULL, 1, false)));
    CHECK_EQ_I(rllb_balancer_add(NULL, &server, 1, &index), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_remove(NULL, 0, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_set_state(NULL, 0, RLLB_SERVER_UP, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_set_weight(NULL, 0, 1, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_set_trust(NULL, true, 1, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_resync(NULL, 0, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_server(NULL, 0, &info), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_servers(NULL), 0);
    rllb_balancer_counters(NULL, &counters);
    rllb_balancer_query(NULL, &desc);
    CHECK_EQ_U(rllb_balancer_metrics(NULL, RLLB_METRICS_PROMETHEUS, 1, text, sizeof text), 0);
    rllb_balancer_destroy(NULL);
    CHECK_EQ_I(index, 7);
}

TEST(null_arguments)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_PREQUAL, 3);
    rllb_balancer *b, *none[2] = { NULL, NULL };
    rllb_report report = { 1, 0.1f, 1 };
    int32_t index;

    d.capacity = 5;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(rllb_balancer_pick_other(b, NULL, 3, 1) >= -1);
    CHECK(rllb_balancer_pick_other(b, NULL, -3, 1) >= -1);
    CHECK_EQ_I(rllb_balancer_report(b, 0, NULL, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_report(b, 5, &report, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_probe(b, NULL, 3), 0);
    CHECK_EQ_I(rllb_balancer_probe(b, &index, 0), 0);
    CHECK_EQ_I(rllb_balancer_probe(b, &index, -1), 0);
    CHECK(rllb_balancer_observe(b, NULL) == NULL);
    CHECK(rllb_balancer_act(b, NULL, 3, 1) != RLLB_OK);
    CHECK_EQ_I(rllb_balancer_add(b, NULL, 1, &index), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_server(b, 0, NULL), RLLB_ERROR_ARGUMENT);
    rllb_balancer_counters(b, NULL);
    rllb_balancer_query(b, NULL);
    CHECK(isnan(rllb_balancer_reward_shared(none, 2, false)));
    CHECK(isnan(rllb_balancer_reward_shared(&b, 0, false)));
    CHECK(rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, 1, NULL, 0) > 1);
    {
        rllb_server_desc more = { NULL, 2 };
        CHECK_EQ_I(rllb_balancer_add(b, &more, 1, NULL), RLLB_ERROR_ARGUMENT);
    }
    CHECK_EQ_I(rllb_balancer_servers(b), 3);
    CHECK(serves(b, 2));
    CHECK(adds_up(b));
    rllb_balancer_destroy(b);
}

TEST(server_out_of_range)
{
    static const int32_t wrong[8] = { -1, -2, 5, 6, 100000, INT32_MIN, INT32_MAX, 3 /* nobody there */ };
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_report report = { 1, 1, 1 };
    rllb_server_info info, before;
    rllb_balancer *b;
    uint64_t bad = 0;
    int32_t i;

    d.capacity = 5;
    d.slots = 8;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    memset(&info, 0x5a, sizeof info);
    before = info;
    for (i = 0; i < 8; i++) {
        int32_t s = wrong[i];
        if (s != 3) {
            CHECK_EQ_I(rllb_balancer_done(b, s, 1, 2, RLLB_OUTCOME_OK), RLLB_ERROR_ARGUMENT);
            CHECK_EQ_I(rllb_balancer_sample(b, s, 1, 2), RLLB_ERROR_ARGUMENT);
            CHECK_EQ_I(rllb_balancer_report(b, s, &report, 2), RLLB_ERROR_ARGUMENT);
            CHECK_EQ_I(rllb_balancer_server(b, s, &info), RLLB_ERROR_ARGUMENT);
            CHECK_MEM(&info, &before, sizeof info);
        }
        CHECK_EQ_I(rllb_balancer_remove(b, s, 2), RLLB_ERROR_ARGUMENT);
        CHECK_EQ_I(rllb_balancer_set_state(b, s, RLLB_SERVER_UP, 2), RLLB_ERROR_ARGUMENT);
        CHECK_EQ_I(rllb_balancer_set_weight(b, s, 1, 2), RLLB_ERROR_ARGUMENT);
        CHECK(counters_of(b).bad_server >= bad + 3);
        bad = counters_of(b).bad_server;
        CHECK(serves(b, 2));
    }
    CHECK(rllb_balancer_done(b, 3, 1, 2, RLLB_OUTCOME_OK) != RLLB_OK);
    CHECK_EQ_I(info_of(b, 3).state, RLLB_SERVER_NONE);
    CHECK(!info_of(b, 3).usable);
    CHECK(adds_up(b));
    CHECK_EQ_I(rllb_balancer_servers(b), 3);
    rllb_balancer_destroy(b);
}

TEST(done_without_pick)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b = rllb_balancer_create(&d);
    int32_t s;

    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 2, RLLB_OUTCOME_OK), RLLB_ERROR_STATE);
    CHECK_EQ_I(in_flight(b, 0), 0);
    CHECK_EQ_U(info_of(b, 0).done, 0);
    CHECK_EQ_U(counters_of(b).stray_done, 1);
    s = rllb_balancer_pick(b, 0, 1);
    CHECK_EQ_I(rllb_balancer_done(b, 1 - s, 1, 2, RLLB_OUTCOME_OK), RLLB_ERROR_STATE); /* the wrong server */
    CHECK_EQ_I(in_flight(b, s), 1);
    CHECK_EQ_I(rllb_balancer_done(b, s, 1, 2, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_done(b, s, 1, 2, RLLB_OUTCOME_OK), RLLB_ERROR_STATE); /* twice */
    CHECK_EQ_I(rllb_balancer_sample(b, s, 1, 2), RLLB_ERROR_STATE); /* nothing runs that could be sampled */
    CHECK_EQ_U(counters_of(b).stray_done, 4);
    CHECK_EQ_U(info_of(b, s).done, 1);
    s = rllb_balancer_pick(b, 0, 2);
    CHECK_EQ_I(rllb_balancer_done(b, s, 1, 2, (rllb_outcome)7), RLLB_ERROR_ARGUMENT); /* it ends, but is no sample */
    s = rllb_balancer_pick(b, 0, 2);
    CHECK_EQ_I(rllb_balancer_done(b, s, 1, 2, (rllb_outcome)-1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(in_flight(b, 0) + in_flight(b, 1), 0);
    CHECK_EQ_U(info_of(b, 0).samples + info_of(b, 1).samples, 1);
    CHECK(serves(b, 3) && adds_up(b));
    rllb_balancer_destroy(b);
}

/* What somebody else sent counts like what was picked: the next pick goes elsewhere, its end is a sample. Draining and
   down servers may have some; what is no server has none. */
TEST(started_elsewhere)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3), neurips = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b = rllb_balancer_create(&d);
    const float *seen;
    int32_t i, n;

    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_started(NULL, 0, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_started(b, -1, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_started(b, 3, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_U(counters_of(b).bad_server, 2);
    for (i = 0; i < 2; i++) CHECK_EQ_I(rllb_balancer_started(b, 0, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_started(b, 1, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 2);
    CHECK_EQ_I(rllb_balancer_set_state(b, 0, RLLB_SERVER_DRAINING, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_started(b, 0, 1), RLLB_OK);
    CHECK_EQ_I(in_flight(b, 0), 3);
    CHECK_EQ_U(info_of(b, 0).picks, 3);
    for (i = 0; i < 3; i++) CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 1.5, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 1.5, RLLB_OUTCOME_OK), RLLB_ERROR_STATE);
    CHECK_EQ_U(info_of(b, 0).samples, 3);
    CHECK_NEAR(info_of(b, 0).duration_sum_s, 1.5, 1e-9);
    CHECK_EQ_I(rllb_balancer_done(b, 1, 1, 2, RLLB_OUTCOME_CANCELLED), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_done(b, 2, 1, 2, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK(adds_up(b));
    rllb_balancer_destroy(b);

    neurips.slots = 8; /* times between arrivals: every half second */
    neurips.features = RLLB_FEATURES_NEURIPS;
    b = rllb_balancer_create(&neurips);
    REQUIRE(b != NULL);
    for (i = 0; i < 100; i++) CHECK_EQ_I(rllb_balancer_started(b, i % 2, 0.5 * i), RLLB_OK);
    CHECK(rllb_balancer_tick(b, 50));
    seen = rllb_balancer_observe(b, &n);
    REQUIRE(seen != NULL && n == 16 + 2 * 11);
    CHECK_NEAR(seen[11], 0.5, 1e-4);
    CHECK_NEAR(seen[16], 50, 1e-4);
    rllb_balancer_destroy(b);
}

/* With wrong times the request ends all the same, but gives no sample; a pick is never refused for its time. */
TEST(wrong_times)
{
    static const struct {
        double started, now;
    } wrong[8] = { { (double)NAN, 5 }, { 4, (double)NAN }, { (double)INFINITY, 5 }, { 4, (double)INFINITY },
                   { 4, -(double)INFINITY }, { -(double)INFINITY, 5 }, { 6, 5 }, { (double)NAN, (double)NAN } };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEAST_TIME, 2);
    rllb_balancer *b;
    uint64_t bad;
    int32_t i, s;

    d.slots = 8;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.5, 4) && request(b, 1, 0.5, 4));
    for (i = 0; i < 8; i++) {
        rllb_server_info before, after;
        s = rllb_balancer_pick(b, 0, 5);
        REQUIRE(s >= 0);
        before = info_of(b, s);
        bad = counters_of(b).bad_time;
        CHECK(rllb_balancer_done(b, s, wrong[i].started, wrong[i].now, RLLB_OUTCOME_OK) != RLLB_OK);
        after = info_of(b, s);
        CHECK_EQ_I(after.in_flight, before.in_flight - 1);
        CHECK_EQ_U(after.done, before.done + 1);
        CHECK_NEAR(after.duration_sum_s, before.duration_sum_s, 0);
        CHECK_EQ_U(after.samples, before.samples);
        CHECK(counters_of(b).bad_time > bad);
    }
    bad = counters_of(b).bad_time;
    s = rllb_balancer_pick(b, 0, NOT_A_NUMBER);
    CHECK(s >= 0);
    CHECK_EQ_U(counters_of(b).bad_time, bad + 1);
    CHECK_EQ_I(rllb_balancer_done(b, s, 5, 6, RLLB_OUTCOME_OK), RLLB_OK);
    s = rllb_balancer_pick(b, 0, 1); /* five seconds back */
    CHECK(s >= 0);
    CHECK_EQ_U(counters_of(b).bad_time, bad + 2);
    CHECK_EQ_I(rllb_balancer_done(b, s, 6, 7, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK(send_to(b, 0, 7));
    CHECK(rllb_balancer_sample(b, 0, NOT_A_NUMBER, 7) != RLLB_OK);
    CHECK(rllb_balancer_sample(b, 0, INFINITE, 7) != RLLB_OK);
    CHECK(rllb_balancer_sample(b, 0, -1, 7) != RLLB_OK);
    CHECK(rllb_balancer_sample(b, 0, 1, NOT_A_NUMBER) != RLLB_OK);
    CHECK_EQ_U(counters_of(b).bad_time, bad + 6);
    CHECK(!rllb_balancer_tick(b, NOT_A_NUMBER));
    CHECK(!rllb_balancer_tick(b, INFINITE));
    CHECK_EQ_U(counters_of(b).bad_time, bad + 8);
    CHECK(rllb_balancer_tick(b, 8));
    CHECK(!rllb_balancer_tick(b, 2));
    CHECK(rllb_balancer_tick(b, 9)); /* a clock that jumped and came back has broken nothing */
    CHECK(serves(b, 10) && adds_up(b));
    rllb_balancer_destroy(b);
}

/* A clock that jumps a year ahead and comes back is followed: neither the samples nor the ticks stop for a year. */
TEST(clock_set_back)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEAST_TIME, 2);
    double year = 365.0 * 86400;
    rllb_balancer *b;

    d.slots = 1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(request(b, 0, 0.5, 100) && request(b, 1, 0.1, 100));
    CHECK(rllb_balancer_tick(b, 100));
    CHECK(request(b, 0, 0.4, year) && rllb_balancer_tick(b, year));
    CHECK(request(b, 0, 0.3, 101));
    rllb_balancer_tick(b, 101);
    CHECK(request(b, 0, 0.2, 101.3));
    CHECK(rllb_balancer_tick(b, 101.6));
    CHECK_NEAR(info_of(b, 0).duration_s, 0.2, 1e-6);
    CHECK(serves(b, 102) && adds_up(b));
    rllb_balancer_destroy(b);
}

TEST(wrong_weights)
{
    static const float wrong[6] = { 0, -1, (float)NAN, (float)INFINITY, -(float)INFINITY, -0.0f };
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_balancer *b;
    int32_t i, index = 9;

    d.capacity = 4;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_set_weight(b, 1, 2.5f, 1), RLLB_OK);
    for (i = 0; i < 6; i++) {
        rllb_server_desc server = { "new", 0 };
        server.weight = wrong[i];
        CHECK_EQ_I(rllb_balancer_set_weight(b, 1, wrong[i], 1), RLLB_ERROR_ARGUMENT);
        CHECK_NEAR(info_of(b, 1).weight, 2.5, 0);
        CHECK_EQ_I(rllb_balancer_add(b, &server, 1, &index), RLLB_ERROR_ARGUMENT);
        CHECK_EQ_I(rllb_balancer_servers(b), 3);
        CHECK(serves(b, 1));
    }
    CHECK_EQ_I(index, 9);
    /* The least and the greatest there are: nobody divides by zero, all may serve. */
    CHECK_EQ_I(rllb_balancer_set_weight(b, 0, 1e-38f, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_set_weight(b, 1, 3e38f, 1), RLLB_OK);
    CHECK(rllb_balancer_pick(b, 0, 1) == 1);
    CHECK_EQ_I(rllb_balancer_set_state(b, 1, RLLB_SERVER_DOWN, 1), RLLB_OK);
    CHECK(rllb_balancer_pick(b, 0, 1) == 2);
    CHECK_EQ_I(rllb_balancer_set_state(b, 2, RLLB_SERVER_DOWN, 1), RLLB_OK);
    CHECK(rllb_balancer_pick(b, 0, 1) == 0);
    rllb_balancer_destroy(b);
}

TEST(wrong_states)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 3);
    rllb_balancer *b = rllb_balancer_create(&d);

    REQUIRE(b != NULL);
    CHECK_EQ_I(rllb_balancer_set_state(b, 0, RLLB_SERVER_NONE, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_set_state(b, 0, RLLB_SERVER_STATE_NUM, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_set_state(b, 0, (rllb_server_state)-1, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(info_of(b, 0).state, RLLB_SERVER_UP);
    CHECK(rllb_balancer_set_trust(b, false, NAN, 1) != RLLB_OK);
    CHECK(rllb_balancer_set_trust(b, false, -0.5f, 1) != RLLB_OK);
    CHECK(rllb_balancer_set_trust(b, false, 1.5f, 1) != RLLB_OK);
    CHECK(rllb_balancer_resync(b, -1, 1) != RLLB_OK);
    CHECK(rllb_balancer_resync(b, 1, 1) != RLLB_OK);
    CHECK(rllb_balancer_resync(b, 256, 1) != RLLB_OK);
    CHECK(serves(b, 1));
    rllb_balancer_destroy(b);
}

/* A server may say anything of itself; what is no number is as if it had not been said. */
TEST(wrong_reports)
{
    static const float odd[6] = { (float)NAN, (float)INFINITY, -(float)INFINITY, -1, 1e38f, 0 };
    static const rllb_balance policies[3] = { RLLB_BALANCE_C3, RLLB_BALANCE_PREQUAL, RLLB_BALANCE_AWCMP };
    int32_t i, k;

    for (i = 0; i < 3; i++) {
        rllb_balancer_desc d = plain(policies[i], 3);
        rllb_balancer *b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        for (k = 0; k < 6 * 6 * 6; k++) {
            rllb_report report;
            report.in_flight = odd[k % 6];
            report.latency_s = odd[k / 6 % 6];
            report.utilisation = odd[k / 36];
            rllb_balancer_report(b, k % 3, &report, 1 + 0.1 * k);
            rllb_balancer_tick(b, 1 + 0.1 * k);
            CHECK(serves(b, 1 + 0.1 * k));
        }
        for (k = 0; k < 3; k++) CHECK(info_of(b, k).weight_in_force >= 0 && info_of(b, k).weight_in_force < 1e30f);
        CHECK(adds_up(b));
        rllb_balancer_destroy(b);
    }
}

/* ---- what is counted --------------------------------------------------------------------------------------- */

TEST(server_info)
{
    static const rllb_server_desc two[2] = { { "first", 2 }, { "a name far longer than there is room for it", 6 } };
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEAST_TIME, 2);
    rllb_server_info info;
    rllb_balancer *b;
    int32_t i;

    d.servers = two;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    info = info_of(b, 1);
    CHECK_EQ_I(strlen(info.name), RLLB_BALANCER_NAME_MAX - 1);
    CHECK(strncmp(info.name, two[1].name, RLLB_BALANCER_NAME_MAX - 1) == 0);
    CHECK_NEAR(info.weight, 6, 0);
    CHECK_NEAR(info.weight_in_force, 1.5, 1e-6);
    CHECK_NEAR(info_of(b, 0).weight_in_force, 0.5, 1e-6);
    CHECK(info.usable && info.state == RLLB_SERVER_UP);
    CHECK_STR(info_of(b, 0).name, "first");
    for (i = 0; i < 10; i++) CHECK(send_to(b, 0, 1));
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 1.25, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_done(b, 0, 0.76, 1.26, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 3, RLLB_OUTCOME_CANCELLED), RLLB_OK);
    info = info_of(b, 0);
    CHECK_EQ_U(info.picks, 10);
    CHECK_EQ_U(info.done, 3);
    CHECK_EQ_I(info.in_flight, 7);
    CHECK_EQ_U(info.failed, 0);
    CHECK_NEAR(info.duration_sum_s, 0.75, 1e-9); /* the cancelled one is no sample */
    CHECK_EQ_U(info.samples, 2);
    CHECK(rllb_balancer_tick(b, 3));
    CHECK_NEAR(info_of(b, 0).duration_s, 0.95 * 0.25 + 0.05 * 0.5, 1e-6);
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 1.5, RLLB_OUTCOME_FAILED), RLLB_OK);
    info = info_of(b, 0);
    CHECK_EQ_U(info.failed, 1);
    CHECK_EQ_U(info.done, 4);
    CHECK_EQ_I(info.in_flight, 6);
    CHECK_EQ_U(info_of(b, 1).picks, 0);
    CHECK(adds_up(b));
    rllb_balancer_destroy(b);
}

/* A failed request counts as taking failure_s at least. */
TEST(failure_duration)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_LEAST_TIME, 1);
    rllb_balancer *b;

    d.guard.failure_s = 0; /* the default, 1 s */
    d.slots = 1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    CHECK(send_to(b, 0, 1) && send_to(b, 0, 1) && send_to(b, 0, 1));
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 1.001, RLLB_OUTCOME_FAILED), RLLB_OK);
    CHECK(rllb_balancer_tick(b, 2));
    CHECK_NEAR(info_of(b, 0).duration_s, 1, 1e-6);
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 4, RLLB_OUTCOME_FAILED), RLLB_OK); /* longer stays longer */
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 4, RLLB_OUTCOME_CANCELLED), RLLB_OK);
    CHECK(rllb_balancer_tick(b, 5));
    CHECK_NEAR(info_of(b, 0).duration_s, 3, 1e-6);
    CHECK_NEAR(info_of(b, 0).duration_sum_s, 4, 1e-6);
    CHECK_EQ_U(info_of(b, 0).samples, 2);
    rllb_balancer_destroy(b);
}

TEST(unnamed_servers_have_their_index)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 12);
    rllb_balancer *b = rllb_balancer_create(&d);

    REQUIRE(b != NULL);
    CHECK_STR(info_of(b, 0).name, "0");
    CHECK_STR(info_of(b, 11).name, "11");
    rllb_balancer_destroy(b);
}

/* Nobody usable: -1, counted; as soon as somebody is, it serves. */
TEST(nobody_usable)
{
    float oracle[3] = { 0, 0, 0 };
    int32_t policy, i;

    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        rllb_balancer_desc d = plain((rllb_balance)policy, 3);
        rllb_balancer *b;
        int32_t tried = 1;
        d.oracle = oracle;
        d.choose = some_choice;
        d.table = 101;
        b = rllb_balancer_create(&d);
        NOTE("%s", rllb_balance_name(d.policy));
        REQUIRE(b != NULL);
        for (i = 0; i < 3; i++) {
            rllb_server_state state = i == 1 ? RLLB_SERVER_DRAINING : RLLB_SERVER_DOWN;
            CHECK(serves(b, 1));
            CHECK_EQ_I(rllb_balancer_set_state(b, i, state, 1), RLLB_OK);
            CHECK(!info_of(b, i).usable);
        }
        for (i = 0; i < 5; i++) CHECK_EQ_I(rllb_balancer_pick(b, 3, 1), -1);
        CHECK_EQ_U(counters_of(b).no_server, 5);
        CHECK_EQ_I(rllb_balancer_pick_other(b, &tried, 1, 1), -1);
        rllb_balancer_tick(b, 2);
        CHECK_EQ_I(rllb_balancer_set_state(b, 2, RLLB_SERVER_UP, 2), RLLB_OK);
        for (i = 0; i < 5; i++) CHECK_EQ_I(rllb_balancer_pick(b, 3, 2), 2);
        for (i = 0; i < 3; i++) CHECK_EQ_I(rllb_balancer_remove(b, i, 2), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_pick(b, 3, 2), -1);
        rllb_balancer_tick(b, 3);
        CHECK_EQ_I(rllb_balancer_pick(b, 3, 3), -1);
        CHECK_EQ_I(rllb_balancer_done(b, 2, 2, 3, RLLB_OUTCOME_OK), RLLB_OK); /* what was in flight may end */
        rllb_balancer_destroy(b);
    }
}

/* ---- servers come and go ----------------------------------------------------------------------------------- */

TEST(add_and_remove)
{
    rllb_server_desc server = { "new", 1 };
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b;
    int32_t i, index = -7;

    d.capacity = 4;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 6; i++) CHECK(rllb_balancer_pick(b, 0, 1) == i % 2);
    CHECK_EQ_I(rllb_balancer_add(b, &server, 1, &index), RLLB_OK);
    CHECK_EQ_I(index, 2);
    CHECK_EQ_I(rllb_balancer_servers(b), 3);
    CHECK_STR(info_of(b, 2).name, "new");
    for (i = 0; i < 3; i++) CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 2); /* at once, until it has as many */
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 0);
    CHECK_EQ_I(rllb_balancer_remove(b, 0, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 1);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 2);
    CHECK_EQ_I(rllb_balancer_remove(b, 0, 1), RLLB_ERROR_ARGUMENT); /* it is gone */
    CHECK_EQ_I(rllb_balancer_set_weight(b, 0, 2, 1), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_balancer_add(b, &server, 1, &index), RLLB_OK);
    CHECK_EQ_I(index, 3); /* not 0: four are still in flight there */
    CHECK_EQ_I(rllb_balancer_servers(b), 4);
    index = -7;
    CHECK_EQ_I(rllb_balancer_add(b, &server, 1, &index), RLLB_ERROR_LIMIT);
    CHECK_EQ_I(index, -7);
    for (i = 0; i < 4; i++) {
        CHECK_EQ_I(rllb_balancer_add(b, &server, 1, &index), RLLB_ERROR_LIMIT);
        CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 2, RLLB_OUTCOME_OK), RLLB_OK);
    }
    CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 2, RLLB_OUTCOME_OK), RLLB_ERROR_STATE);
    CHECK_EQ_I(rllb_balancer_add(b, &server, 2, &index), RLLB_OK); /* now it is free */
    CHECK_EQ_I(index, 0);
    CHECK_EQ_I(info_of(b, 0).in_flight, 0);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 2), 0);
    CHECK(adds_up(b));
    rllb_balancer_destroy(b);
}

/* A server at an index that was another's before is judged by nothing that the other did. */
TEST(reused_index_starts_anew)
{
    static const rllb_balance policies[4] = { RLLB_BALANCE_LEAST_TIME, RLLB_BALANCE_PEAK_EWMA, RLLB_BALANCE_C3,
                                              RLLB_BALANCE_EQUALISE };
    rllb_server_desc server = { "new", 1 };
    int32_t i, k, index;

    for (i = 0; i < 4; i++) {
        rllb_balancer_desc d = plain(policies[i], 2);
        rllb_balancer *b;
        rllb_report report = { 900, 50, NAN };
        const float *o;
        d.slots = 16;
        d.guard.eject_failures = 3;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        NOTE("%s", rllb_balance_name(d.policy));
        for (k = 0; k < 30; k++) CHECK(request(b, 0, 0.1, 1 + k) && request(b, 1, 9, 1 + k));
        CHECK_EQ_I(rllb_balancer_report(b, 1, &report, 30), RLLB_OK);
        for (k = 0; k < 2; k++) {
            CHECK(send_to(b, 1, 31));
            CHECK_EQ_I(rllb_balancer_done(b, 1, 21, 31, RLLB_OUTCOME_FAILED), RLLB_OK);
        }
        CHECK(rllb_balancer_tick(b, 31));
        CHECK(info_of(b, 1).duration_s > 8);
        CHECK_EQ_I(rllb_balancer_remove(b, 1, 31), RLLB_OK);
        CHECK(rllb_balancer_tick(b, 32));
        CHECK_EQ_I(rllb_balancer_add(b, &server, 32, &index), RLLB_OK);
        CHECK_EQ_I(index, 1);
        o = tick_and_observe(b, 33, 12);
        REQUIRE(o != NULL);
        for (k = 6; k < 12; k++) CHECK_NEAR(o[k], 0, 0);
        CHECK_NEAR(info_of(b, 1).duration_s, 0, 0);
        CHECK_NEAR(info_of(b, 1).unloaded_s, 0, 0);
        CHECK_NEAR(info_of(b, 1).weight_in_force, 1, 0.2);
        CHECK(send_to(b, 1, 33));
        CHECK_EQ_I(rllb_balancer_done(b, 1, 33, 33.1, RLLB_OUTCOME_FAILED), RLLB_OK);
        CHECK(rllb_balancer_tick(b, 34));
        CHECK_EQ_I(info_of(b, 1).state, RLLB_SERVER_UP); /* its first failure, not its third */
        CHECK(request(b, 1, 0.1, 35));
        for (k = 0; k < 20; k++) CHECK(request(b, 0, 0.1, 35));
        CHECK(send_to(b, 0, 36));
        if (policies[i] != RLLB_BALANCE_EQUALISE) CHECK_EQ_I(rllb_balancer_pick(b, 0, 36), 1); /* idle, and no slower */
        rllb_balancer_destroy(b);
    }
}

/* Draining and down servers get nothing new at once, their requests end as usual, and they come back. */
TEST(drain_and_down)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_LSQ, 3);
    rllb_balancer *b = rllb_balancer_create(&d);
    int32_t i;

    REQUIRE(b != NULL);
    for (i = 0; i < 9; i++) rllb_balancer_pick(b, 0, 1);
    CHECK_EQ_I(rllb_balancer_set_state(b, 0, RLLB_SERVER_DRAINING, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_set_state(b, 1, RLLB_SERVER_DOWN, 1), RLLB_OK);
    for (i = 0; i < 3; i++) {
        CHECK_EQ_I(rllb_balancer_done(b, 0, 1, 2, RLLB_OUTCOME_OK), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_done(b, 1, 1, 2, RLLB_OUTCOME_FAILED), RLLB_OK);
        CHECK_EQ_I(rllb_balancer_pick(b, 0, 2), 2);
    }
    CHECK_EQ_I(in_flight(b, 0), 0);
    CHECK_EQ_I(info_of(b, 0).state, RLLB_SERVER_DRAINING);
    CHECK_EQ_I(rllb_balancer_set_state(b, 0, RLLB_SERVER_UP, 3), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 3), 0);
    CHECK_EQ_I(rllb_balancer_set_state(b, 1, RLLB_SERVER_UP, 3), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_pick(b, 0, 3), 1);
    CHECK(adds_up(b));
    rllb_balancer_destroy(b);
}

/* A new weight counts from the next pick on. */
TEST(reweigh)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 2);
    rllb_balancer *b = rllb_balancer_create(&d);
    int32_t i, got[2] = { 0, 0 };

    REQUIRE(b != NULL);
    for (i = 0; i < 10; i++) got[rllb_balancer_pick(b, 0, 1) == 1]++;
    CHECK_EQ_I(got[1], 5);
    CHECK_EQ_I(rllb_balancer_set_weight(b, 1, 4, 1), RLLB_OK);
    for (i = 0; i < 15; i++) CHECK_EQ_I(rllb_balancer_pick(b, 0, 1), 1); /* 6 / 1 against up to 20 / 4, 23 / 4 */
    CHECK_EQ_I(in_flight(b, 1), 20);
    rllb_balancer_destroy(b);
}

/* pick_other: the least (q + 1) / w of those not tried, under every policy. */
TEST(pick_other_rule)
{
    rllb_rng r;
    int32_t policy, k, i;
    float oracle[24] = { 0 };

    rllb_rng_init(&r, 12, 0);
    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        rllb_balancer_desc d = plain((rllb_balance)policy, 24);
        double w[24], q[24] = { 0 };
        bool down[24] = { false };
        rllb_balancer *b;
        int32_t wrong = 0;
        if (policy == RLLB_BALANCE_HLB || policy == RLLB_BALANCE_AWCMP) continue; /* weights of their own */
        if (policy == RLLB_BALANCE_EQUALISE || policy == RLLB_BALANCE_LEARNED) continue;
        d.oracle = oracle;
        d.choose = some_choice;
        d.table = 101;
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        for (i = 0; i < 24; i++) {
            float weight = random_weight(&r, 1);
            w[i] = (double)weight;
            CHECK_EQ_I(rllb_balancer_set_weight(b, i, weight, 1), RLLB_OK);
        }
        for (k = 0; k < 400; k++) {
            int32_t tried[30], count = rllb_rng_below(&r, 26), s, best = -1;
            bool skip[24];
            memcpy(skip, down, sizeof skip);
            for (i = 0; i < count; i++) {
                tried[i] = rllb_rng_below(&r, 26) - 1; /* some out of range: no matter */
                if (tried[i] >= 0 && tried[i] < 24) skip[tried[i]] = true;
            }
            for (i = 0; i < 24; i++) {
                if (!skip[i] && (best < 0 || (q[i] + 1) / w[i] < (q[best] + 1) / w[best])) best = i;
            }
            s = rllb_balancer_pick_other(b, tried, count, 1);
            if (best < 0) wrong += s != -1;
            else wrong += s < 0 || s > 23 || skip[s] || (q[s] + 1) / w[s] > (1 + 2e-6) * (q[best] + 1) / w[best];
            if (s >= 0 && s < 24) q[s]++;
            s = rllb_rng_below(&r, 24);
            if (rllb_rng_below(&r, 20) == 0) {
                down[s] = !down[s];
                rllb_balancer_set_state(b, s, down[s] ? RLLB_SERVER_DOWN : RLLB_SERVER_UP, 1);
            }
        }
        NOTE("%s", rllb_balance_name((rllb_balance)policy));
        CHECK_EQ_I(wrong, 0);
        for (i = 0; i < 24; i++) CHECK_EQ_I(in_flight(b, i), (int64_t)q[i]);
        rllb_balancer_destroy(b);
    }
}

/* In the DRAW form by w^a. Of weights 1 and 4 the second has three in flight. a = .5: 4 / 2 against 1, 2 (a tie), 3,
   then 5 / 2 and 6 / 2 (a tie). a = 1: 4 / 4 against 1 (a tie), then quarters up to 7 / 4. a = 0: 4 against 1 to 4,
   then 5. */
TEST(pick_other_in_the_draw_form)
{
    static const float a[3] = { 0.5f, 1, RLLB_OFF };
    static const int32_t went[3] = { 2, 4, 1 }; /* to the second, of five requests */
    int32_t i, k;

    for (i = 0; i < 3; i++) {
        rllb_balancer_desc d = plain(RLLB_BALANCE_DRAW, 2);
        int32_t got = 0;
        rllb_balancer *b;
        d.a = a[i];
        b = rllb_balancer_create(&d);
        REQUIRE(b != NULL);
        CHECK_EQ_I(rllb_balancer_set_weight(b, 1, 4, 1), RLLB_OK);
        for (k = 0; k < 3; k++) CHECK(send_to(b, 1, 1));
        for (k = 0; k < 5; k++) got += rllb_balancer_pick_other(b, NULL, 0, 1) == 1;
        NOTE("a %g", (double)a[i]);
        CHECK_EQ_I(got, went[i]);
        rllb_balancer_destroy(b);
    }
}

/* ---- determinism ------------------------------------------------------------------------------------------- */

TEST(same_seed_same_picks)
{
    float oracle[7] = { 1, 1, 1, 1, 1, 1, 1 };
    int32_t policy;

    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        rllb_balancer_desc d = plain((rllb_balance)policy, 7);
        rllb_balancer *a, *b, *c, *e;
        bool drawn = policy != RLLB_BALANCE_ROUND_ROBIN && policy != RLLB_BALANCE_WEIGHTED_ROUND_ROBIN &&
                     policy != RLLB_BALANCE_CHOOSE;
        uint64_t sum;
        rllb_balancer_desc_default(&d); /* as users have it: guard on, ties at random */
        d.policy = (rllb_balance)policy;
        d.count = 7;
        d.seed = 5;
        d.oracle = oracle;
        d.choose = some_choice;
        a = rllb_balancer_create(&d);
        b = rllb_balancer_create(&d);
        d.stream = 1;
        c = rllb_balancer_create(&d);
        d.stream = 0;
        d.seed = 6;
        e = rllb_balancer_create(&d);
        REQUIRE(a && b && c && e);
        NOTE("%s", rllb_balance_name(d.policy));
        sum = life(a);
        CHECK_EQ_U(life(b), sum);
        if (drawn) CHECK(life(c) != sum && life(e) != sum);
        rllb_balancer_destroy(a);
        rllb_balancer_destroy(b);
        rllb_balancer_destroy(c);
        rllb_balancer_destroy(e);
    }
}

/* In shadow a controller's balancer picks exactly as the fallback would alone. */
TEST(every_fallback)
{
    int32_t policy, k, s, t;

    for (policy = 0; policy < RLLB_BALANCE_NUM; policy++) {
        static const float action[7] = { 7, 6, 5, 4, 3, 2, 1 };
        rllb_balancer_desc d = plain((rllb_balance)policy, 7);
        rllb_balancer *alone, *shadow;
        int32_t differ = 0;
        bool able = policy <= RLLB_BALANCE_WCMP || (policy >= RLLB_BALANCE_P2C && policy <= RLLB_BALANCE_JIQ);
        NOTE("%s", rllb_balance_name(d.policy));
        d.ties = RLLB_TIES_RANDOM;
        d.choose = some_choice;
        alone = able ? rllb_balancer_create(&d) : NULL;
        d.fallback = d.policy;
        d.policy = RLLB_BALANCE_LEARNED;
        d.shadow = true;
        shadow = rllb_balancer_create(&d);
        CHECK_EQ_I(shadow != NULL, able); /* those that go by more than weights and counts may not serve as fallback */
        if (!able) continue;
        REQUIRE(alone && shadow);
        CHECK_EQ_I(rllb_balancer_act(shadow, action, 7, 0), RLLB_OK);
        for (k = 0; k < 500; k++) {
            double now = 1 + 0.01 * k, duration = 0.02 * (1 + k % 5);
            rllb_report report = { 0, 0, NAN };
            report.in_flight = (float)(k % 3);
            report.latency_s = 0.01f * (float)(k % 7);
            rllb_balancer_report(alone, k % 7, &report, now);
            rllb_balancer_report(shadow, k % 7, &report, now);
            s = rllb_balancer_pick(alone, (uint64_t)(k % 50), now);
            t = rllb_balancer_pick(shadow, (uint64_t)(k % 50), now);
            differ += s != t;
            if (s < 0 || s != t) break;
            if (k % 4 == 0) continue;
            CHECK_EQ_I(rllb_balancer_done(alone, s, now - duration, now, RLLB_OUTCOME_OK), RLLB_OK);
            CHECK_EQ_I(rllb_balancer_done(shadow, s, now - duration, now, RLLB_OUTCOME_OK), RLLB_OK);
        }
        CHECK_EQ_I(differ, 0);
        CHECK_EQ_I(k, 500);
        CHECK_EQ_U(counters_of(shadow).shadow_picks, (uint64_t)k);
        rllb_balancer_destroy(alone);
        rllb_balancer_destroy(shadow);
    }
}

/* ---- several handles on one block -------------------------------------------------------------------------- */

/* What one does, all see: in-flight counts, servers, weights. */
TEST(workers_see_each_other)
{
    rllb_server_desc server = { "new", 1 };
    int32_t i, s, index = -1;
    block k;

    REQUIRE(block_open(&k, RLLB_BALANCE_LSQ, 4));
    for (i = 0; i < 4; i++) CHECK_EQ_I(rllb_balancer_pick(k.worker[i], 0, 1), i); /* nobody takes a busy one */
    for (i = 0; i < 4; i++) CHECK_EQ_I(in_flight(k.worker[3 - i], i), 1);
    CHECK_EQ_I(rllb_balancer_done(k.worker[0], 1, 1, 2, RLLB_OUTCOME_OK), RLLB_ERROR_STATE); /* it is not its own */
    CHECK_EQ_I(in_flight(k.worker[0], 1), 1);
    CHECK_EQ_I(rllb_balancer_done(k.worker[1], 1, 1, 2, RLLB_OUTCOME_OK), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_pick(k.worker[3], 0, 2), 1);
    CHECK_EQ_I(rllb_balancer_set_state(k.worker[2], 1, RLLB_SERVER_DOWN, 2), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_done(k.worker[3], 1, 1, 2, RLLB_OUTCOME_OK), RLLB_OK);
    for (i = 0; i < 4; i++) {
        s = rllb_balancer_pick(k.worker[i], 0, 2);
        CHECK(s >= 0 && s != 1);
        CHECK_EQ_I(info_of(k.worker[i], 1).state, RLLB_SERVER_DOWN);
    }
    CHECK_EQ_U(counters_of(k.worker[0]).stray_done, 1);
    CHECK_EQ_U(counters_of(k.worker[3]).stray_done, 1);
    CHECK_EQ_I(rllb_balancer_add(k.worker[1], &server, 3, &index), RLLB_ERROR_LIMIT);
    CHECK_EQ_I(rllb_balancer_remove(k.worker[1], 1, 3), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_add(k.worker[0], &server, 3, &index), RLLB_OK);
    CHECK_EQ_I(index, 1);
    for (i = 0; i < 4; i++) CHECK_EQ_I(rllb_balancer_set_weight(k.worker[i], i, (float)(1 + i), 4), RLLB_OK);
    for (i = 0; i < 4; i++) CHECK_NEAR(info_of(k.worker[3 - i], i).weight, 1 + i, 0);
    CHECK(adds_up(k.worker[0]));
    block_close(&k);
}

/* Workers that drew the same numbers would herd. */
TEST(workers_draw_differently)
{
    int32_t i, j, n = 200;
    int32_t got[HANDLES][200];
    block k;

    REQUIRE(block_open(&k, RLLB_BALANCE_P2C, 24));
    for (i = 0; i < HANDLES; i++) {
        for (j = 0; j < n; j++) got[i][j] = peek(k.worker[i], 0, 1);
    }
    for (i = 0; i < HANDLES; i++) {
        for (j = 0; j < i; j++) {
            int32_t same = 0, at;
            for (at = 0; at < n; at++) same += got[i][at] == got[j][at];
            CHECK(same < 40); /* 8 expected of equal shares; p2c with ties to the first prefers low ones: some 11 */
        }
    }
    block_close(&k);
}

/* Who joins must bring the same sizes and a block in order. */
TEST(join_refused)
{
    rllb_balancer_desc d;
    rllb_balancer *out = NULL;
    size_t own;
    unsigned char *handle;
    int32_t i;
    block k;

    REQUIRE(block_open(&k, RLLB_BALANCE_SED, 4));
    d = k.desc;
    d.worker = 2;
    d.join = true;
    own = rllb_balancer_size(&d);
    handle = (unsigned char *)malloc(own + 4096);
    REQUIRE(own > 0 && handle != NULL);
    CHECK(own < k.size); /* a handle is small where the block is apart */
    CHECK_EQ_I(rllb_balancer_init(&d, handle, own - 1, &out), RLLB_ERROR_MEMORY_SIZE);
    d.shared_size = k.size - 1;
    CHECK_EQ_I(rllb_balancer_init(&d, handle, own + 4096, &out), RLLB_ERROR_MEMORY_SIZE);
    d.shared_size = k.size;
    for (i = 1; i < 64; i += 3) {
        d.shared = k.base + i;
        CHECK_EQ_I(rllb_balancer_init(&d, handle, own + 4096, &out), RLLB_ERROR_ARGUMENT);
    }
    d.shared = k.base;
#define OTHER(change)                                                                                  \
    do {                                                                                               \
        rllb_balancer_desc right = d;                                                                  \
        change;                                                                                        \
        d.shared_size = rllb_balancer_shared_size(&d) > k.size ? rllb_balancer_shared_size(&d) : k.size; \
        NOTE("line %d", __LINE__);                                                                     \
        CHECK_EQ_I(rllb_balancer_init(&d, handle, own + 4096, &out), RLLB_ERROR_VERSION);              \
        d = right;                                                                                     \
    } while (0)
    OTHER(d.workers = 3);
    OTHER(d.workers = 5);
    OTHER(d.capacity = 5);
    OTHER((d.count = 3, d.capacity = 3));
    OTHER(d.slots = 16);
    OTHER((d.policy = RLLB_BALANCE_MAGLEV, d.table = 101));
    OTHER(d.policy = RLLB_BALANCE_LSQ);
    OTHER(d.features = RLLB_FEATURES_OWN);
#undef OTHER
    CHECK(out == NULL);
    { /* another version, or no block at all: every byte of its head may be wrong */
        unsigned char head[16], zero[16] = { 0 };
        memcpy(head, k.base, 16);
        memcpy(k.base, zero, 16);
        CHECK_EQ_I(rllb_balancer_init(&d, handle, own, &out), RLLB_ERROR_VERSION);
        for (i = 0; i < 12; i++) {
            memcpy(k.base, head, 16);
            k.base[i] ^= 0x20;
            NOTE("byte %d", i);
            CHECK_EQ_I(rllb_balancer_init(&d, handle, own, &out), RLLB_ERROR_VERSION);
        }
        memcpy(k.base, head, 16);
    }
    CHECK(out == NULL);
    for (i = 0; i < HANDLES; i++) CHECK(serves(k.worker[i], 1)); /* nobody was disturbed */
    CHECK_EQ_I(rllb_balancer_init(&d, handle, own, &out), RLLB_OK);
    REQUIRE(out != NULL);
    CHECK(serves(out, 2));
#ifdef RLLB_I_ASAN
    ASAN_UNPOISON_MEMORY_REGION(handle, own + 4096);
#endif
    free(handle);
    block_close(&k);
}

/* A worker that takes a dead one's place gives up what that one had in flight; so does resync. */
TEST(lost_requests)
{
    int32_t i, s;
    rllb_balancer_desc d;
    rllb_balancer *late;
    block k;

    REQUIRE(block_open(&k, RLLB_BALANCE_LSQ, 4));
    for (i = 0; i < 20; i++) CHECK(rllb_balancer_pick(k.worker[i % 4], 0, 1) >= 0);
    for (s = 0; s < 4; s++) CHECK_EQ_I(in_flight(k.worker[0], s), 5);
    CHECK_EQ_I(rllb_balancer_resync(k.worker[0], 2, 2), RLLB_OK);
    CHECK_EQ_U(counters_of(k.worker[0]).lost, 5);
    CHECK(adds_up(k.worker[0]));
    d = k.desc;
    d.worker = 1;
    d.join = true;
    late = rllb_balancer_create(&d);
    REQUIRE(late != NULL);
    CHECK_EQ_U(counters_of(late).lost, 10);
    CHECK(adds_up(late));
    for (s = 0, i = 0; s < 4; s++) i += (int32_t)in_flight(late, s);
    CHECK_EQ_I(i, 10);
    for (s = 0; s < 4; s++) {
        CHECK_EQ_I(rllb_balancer_done(late, s, 1, 3, RLLB_OUTCOME_OK), RLLB_ERROR_STATE); /* not its requests */
    }
    CHECK(serves(late, 3));
    CHECK(serves(k.worker[0], 3) && serves(k.worker[3], 3));
    rllb_balancer_destroy(late);
    block_close(&k);
}

/* What the block knows outlives its handles: servers, weights, what was found, counters, averages of the others. */
TEST(joining_finds_what_was_learned)
{
    static const float action[3] = { 1, 2, 3 };
    rllb_server_desc server = { "late", 2 };
    rllb_balancer_desc out;
    rllb_balancer *late;
    int32_t i, index;
    block k;

    {
        rllb_balancer_desc d = plain(RLLB_BALANCE_LEARNED, 2);
        d.capacity = 3;
        d.name = "edge";
        REQUIRE(block_open_as(&k, &d));
    }
    CHECK_EQ_I(rllb_balancer_add(k.worker[0], &server, 1, &index), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_act(k.worker[1], action, 3, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_set_state(k.worker[2], 0, RLLB_SERVER_DRAINING, 1), RLLB_OK);
    CHECK_EQ_I(rllb_balancer_set_trust(k.worker[2], false, 0.5f, 1), RLLB_OK);
    for (i = 0; i < 20; i++) CHECK(request(k.worker[3], 1, 0.25, 1 + i));
    CHECK(rllb_balancer_tick(k.worker[0], 21));
    k.desc.worker = 3;
    k.desc.join = true;
    k.desc.count = 0; /* servers of the descriptor do not count any more */
    k.desc.servers = NULL;
    late = rllb_balancer_create(&k.desc);
    REQUIRE(late != NULL);
    CHECK_EQ_I(rllb_balancer_servers(late), 3);
    CHECK_STR(info_of(late, 2).name, "late");
    CHECK_NEAR(info_of(late, 2).weight, 2, 0);
    for (i = 0; i < 3; i++) {
        CHECK_NEAR(info_of(late, i).weight_in_force, info_of(k.worker[0], i).weight_in_force, 0);
        CHECK_EQ_I(info_of(late, i).usable, i > 0);
    }
    CHECK_NEAR(info_of(late, 1).duration_s, 0.25, 1e-6);
    CHECK_EQ_U(info_of(late, 1).done, 20);
    CHECK_EQ_U(counters_of(late).controls, 1);
    memset(&out, 0xff, sizeof out);
    rllb_balancer_query(late, &out);
    CHECK_EQ_I(out.count, 3);
    CHECK_STR(out.name, "edge");
    CHECK_NEAR(out.blend, 0.5, 0);
    CHECK(!out.shadow);
    for (i = 0; i < 12; i++) CHECK(rllb_balancer_pick(late, 0, 22) > 0);
    rllb_balancer_destroy(late);
    block_close(&k);
}

/* Worker -1 keeps: it ticks and sets, but does not pick. */
TEST(keeper)
{
    rllb_balancer_desc d;
    rllb_balancer *keeper;
    int32_t i;
    block k;

    REQUIRE(block_open(&k, RLLB_BALANCE_SED, 4));
    d = k.desc;
    d.worker = -1;
    d.join = true;
    keeper = rllb_balancer_create(&d);
    REQUIRE(keeper != NULL);
    CHECK_EQ_I(rllb_balancer_pick(keeper, 0, 1), -1);
    CHECK_EQ_I(rllb_balancer_pick_other(keeper, NULL, 0, 1), -1);
    CHECK(rllb_balancer_done(keeper, 0, 1, 1, RLLB_OUTCOME_OK) != RLLB_OK);
    CHECK_EQ_I(rllb_balancer_set_weight(keeper, 2, 100, 1), RLLB_OK);
    for (i = 0; i < 8; i++) CHECK_EQ_I(rllb_balancer_pick(k.worker[i % 4], 0, 1), 2);
    CHECK_EQ_I(in_flight(keeper, 2), 8);
    CHECK(rllb_balancer_tick(keeper, 10) || rllb_balancer_tick(keeper, 11));
    CHECK(adds_up(keeper));
    rllb_balancer_destroy(keeper);
    block_close(&k);
}


/* ---- memory, as documented --------------------------------------------------------------------------------- */

/* Bytes that one more server takes, by the difference over a thousand of them. */
static double bytes_a_server(rllb_balancer_desc d, bool handle)
{
    static unsigned char nothing[128]; /* a block apart is not counted with the handle; nobody writes to it here */
    size_t few, many;

    d.shared = handle ? nothing + (64 - (uintptr_t)nothing % 64) % 64 : NULL;
    d.capacity = 1024;
    few = handle ? rllb_balancer_size(&d) : rllb_balancer_shared_size(&d);
    d.capacity = 2048;
    many = handle ? rllb_balancer_size(&d) : rllb_balancer_shared_size(&d);
    return few && many ? ((double)many - (double)few) / 1024 : -1;
}

/* The figures of the header's top comment: a server of the block, a worker, a slot, a slot with the NEURIPS features, a
   server of a handle, of C3's and Maglev's, a number among its features, an entry of Maglev's table. */
static bool documented(double figure[8])
{
    static char text[8192];
    FILE *f = fopen("rllb.h", "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0, i, out = 0;
    const char *at;

    if (f) fclose(f);
    for (i = 0; i < n; i++) { /* runs of blanks and line ends to one blank */
        char c = text[i] == '\n' ? ' ' : text[i];
        if (c != ' ' || out == 0 || text[out - 1] != ' ') text[out++] = c;
    }
    text[out] = 0;
    at = strstr(text, "A balancer's server takes ");
    return at && sscanf(at,
                        "A balancer's server takes %lf bytes of the shared block, %lf more for each worker and %lf "
                        "for each slot (%lf with the NEURIPS features), and %lf of each handle, %lf more for C3 "
                        "and Maglev and %lf for each number among its features; Maglev %lf bytes an entry.",
                        &figure[0], &figure[1], &figure[2], &figure[3], &figure[4], &figure[5], &figure[6],
                        &figure[7]) == 8;
}

TEST(memory_as_documented)
{
    rllb_balancer_desc d = plain(RLLB_BALANCE_SED, 0);
    static const int32_t numbers[RLLB_FEATURES_NUM] = { 6, 11, 8, 9 };
    double one, eight, figure[8], table;
    int32_t i;

    REQUIRE(documented(figure));
    one = bytes_a_server(d, false);
    d.workers = 8;
    eight = bytes_a_server(d, false);
    NOTE("a server: %g bytes of the block, %g more for each worker", one - (eight - one) / 7, (eight - one) / 7);
    CHECK_NEAR((eight - one) / 7, figure[1], 0);
    CHECK_NEAR(one - figure[1], figure[0], 0);
    d.slots = 128;
    CHECK_NEAR(bytes_a_server(d, false) - eight, figure[2] * 128, 0);
    for (i = 0; i < RLLB_FEATURES_NUM; i++) {
        d.features = (rllb_features)i;
        NOTE("features %d: %g bytes of each handle", (int)i, bytes_a_server(d, true));
        CHECK_NEAR(bytes_a_server(d, false) - eight, figure[i == RLLB_FEATURES_NEURIPS ? 3 : 2] * 128, 0);
        CHECK_NEAR(bytes_a_server(d, true), figure[4] + numbers[i] * figure[6], 0);
    }
    d.slots = 0;
    CHECK_NEAR(bytes_a_server(d, true), figure[4], 0);
    d.policy = RLLB_BALANCE_C3;
    CHECK_NEAR(bytes_a_server(d, true), figure[4] + figure[5], 0);
    d.policy = RLLB_BALANCE_MAGLEV;
    CHECK_NEAR(bytes_a_server(d, true), figure[4] + figure[5], 0);
    d.capacity = 64;
    d.table = 65537;
    table = (double)rllb_balancer_shared_size(&d);
    d.table = 131101;
    CHECK_NEAR(((double)rllb_balancer_shared_size(&d) - table) / (131101 - 65537), figure[7], 0.01);
    d = plain(RLLB_BALANCE_SED, 24);
    NOTE("24 servers, one worker: %d bytes in all", (int)rllb_balancer_size(&d));
    CHECK(rllb_balancer_size(&d) < 32768 + 40 * RLLB_I_GAP);
}
