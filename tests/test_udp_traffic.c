/* What traffic carries in its datagrams, how it counts them, and how its slow clients work. */

#define _GNU_SOURCE

#include "rllb.h"
#include "test.h"

#define main traffic_main
#include "../examples/udp/traffic.c"
#undef main
#include "../examples/udp/traffic_count.c"
#include "../examples/udp/traffic_send.c"
#include "../examples/udp/traffic_sink.c"

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

TEST(a_datagram_of_any_size_tells_what_it_was_told)
{
    unsigned char bytes[UT_SIZE_MOST];
    uint64_t now = 987654321987654321U;
    int32_t size, wrong = 0;

    for (size = UT_SIZE_LEAST; size <= UT_SIZE_MOST; size++) {
        ut_stamp in = { (uint32_t)(size * 43) & 0xFFFF, 0xFFFFFF00U + (uint32_t)size, now - 5000000, false }, got;
        ut_stamp_write(&in, bytes, size);
        if (!stamp_read(bytes, (size_t)size, now, &got)) wrong++;
        else wrong += got.sender != in.sender || got.sequence != in.sequence || got.damaged;
        if (size >= UT_SIZE_FULL) wrong += got.at_ns != in.at_ns;
        else wrong += got.at_ns > in.at_ns || in.at_ns - got.at_ns >= 1000;
    }
    CHECK_EQ_I(wrong, 0);
}

TEST(the_short_time_is_completed_by_the_clock)
{
    static const uint64_t ages_us[] = { 0, 1, 999, 1000000, 16777215 };
    unsigned char bytes[UT_SIZE_LEAST];
    uint64_t now = (uint64_t)0x7000000 * 1000; /* its last 24 bits are 0: all that is earlier wraps */
    int32_t i;

    for (i = 0; i < EX_COUNT(ages_us); i++) {
        ut_stamp in = { 1, 2, now - ages_us[i] * 1000, false }, got = { 0, 0, 0, false };
        ut_stamp_write(&in, bytes, UT_SIZE_LEAST);
        CHECK(stamp_read(bytes, UT_SIZE_LEAST, now, &got));
        CHECK_EQ_U(got.at_ns, in.at_ns);
    }
}

TEST(strangers_and_damage_are_told_apart)
{
    unsigned char bytes[200];
    ut_stamp in = { 7, 1000, 123456789, false }, got;
    int32_t i, damaged = 0;

    ut_stamp_write(&in, bytes, 100);
    for (i = UT_SIZE_FULL; i < 100; i++) { /* cut anywhere behind the header: the padding says another size */
        if (i > UT_SIZE_FULL) damaged += stamp_read(bytes, (size_t)i, 0, &got) && got.damaged;
    }
    CHECK_EQ_I(damaged, 99 - UT_SIZE_FULL);
    bytes[99] ^= 1;
    CHECK(stamp_read(bytes, 100, 0, &got));
    CHECK(got.damaged);
    CHECK(!stamp_read(bytes, 15, 0, &got));
    CHECK(!stamp_read(bytes, 0, 0, &got));
    bytes[1] = 'M';
    CHECK(!stamp_read(bytes, 100, 0, &got));
    ut_stamp_write(&in, bytes, 12);
    bytes[0] = 0xD1;
    CHECK(!stamp_read(bytes, 12, 0, &got));
}

/* ---- books ------------------------------------------------------------------------------------------------------- */

TEST(books_know_what_was_there)
{
    ut_books b = { 0 };
    uint64_t most;
    uint32_t i;
    int32_t fresh = 0, again = 0;

    REQUIRE(ut_books_open(&b));
    for (i = 0; i < 5000; i += 3) fresh += ut_books_mark(&b, 65535, i) == 1;
    for (i = 0; i < 5000; i += 2) again += ut_books_mark(&b, 65535, i) == 0;
    CHECK_EQ_I(fresh, 1667);
    CHECK_EQ_I(again, 834); /* multiples of six */
    CHECK_EQ_U(ut_books_count(&b, &most), 1667 + 2500 - 834);
    CHECK_EQ_U(most, 4998 + 1);
    CHECK_EQ_I(ut_books_mark(&b, 0, JUMP_MOST), -1); /* whoever begins that high is none of ours */
    CHECK_EQ_I(ut_books_mark(&b, 65535, UINT32_MAX), -1);
    CHECK_EQ_U(ut_books_count(&b, &most), 1667 + 2500 - 834);
    ut_books_close(&b);
}

static bool write_and_read(const ut_books *b, ut_books *back, const char *path)
{
    const uint64_t counts[UT_M_COUNTS] = { 1, 2, 3, 4, 5, 6, 7, 2 };
    uint64_t got[UT_M_COUNTS];

    return ut_books_write(b, counts, path) && books_read(back, got, path) && memcmp(counts, got, sizeof got) == 0;
}

TEST(books_of_several_sinks_are_joined)
{
    ut_books sent = { 0 }, one = { 0 }, two = { 0 }, seen = { 0 }, back = { 0 };
    char path[] = "/tmp/rllb_books_XXXXXX";
    int fd = mkstemp(path);
    merged m;
    uint32_t i;

    REQUIRE(fd >= 0);
    close(fd);
    REQUIRE(ut_books_open(&sent) && ut_books_open(&one) && ut_books_open(&two) && ut_books_open(&seen));
    REQUIRE(ut_books_open(&back));
    memset(&m, 0, sizeof m);
    for (i = 0; i < 1000; i++) {
        ut_books_mark(&sent, 3, i);
        if (i % 10 == 0) continue; /* lost: 100 */
        ut_books_mark(i % 2 ? &one : &two, 3, i);
        if (i % 100 == 1) ut_books_mark(&two, 3, i); /* at both: 10 */
    }
    ut_books_mark(&two, 4, 5); /* nobody sent it */
    CHECK(write_and_read(&two, &back, path));
    CHECK(books_join(&seen, &one, &m));
    CHECK(books_join(&seen, &back, &m));
    books_compare(&sent, &seen, &m);
    CHECK_EQ_U(m.lost, 100);
    CHECK_EQ_U(m.duplicates, 10);
    CHECK_EQ_U(m.unsent, 1);
    unlink(path);
    ut_books_close(&sent);
    ut_books_close(&one);
    ut_books_close(&two);
    ut_books_close(&seen);
    ut_books_close(&back);
}

TEST(a_broken_file_of_books_is_refused)
{
    ut_books b = { 0 }, back = { 0 };
    const uint64_t counts[UT_M_COUNTS] = { 0 };
    uint64_t got[UT_M_COUNTS];
    char path[] = "/tmp/rllb_books_XXXXXX";
    ex_text t = { 0 };
    int fd = mkstemp(path);
    size_t size;
    int32_t taken = 0;

    REQUIRE(fd >= 0);
    close(fd);
    REQUIRE(ut_books_open(&b));
    ut_books_mark(&b, 1, 100);
    REQUIRE(ut_books_write(&b, counts, path) && ex_file_read(path, 1 << 20, &t));
    fclose(stderr); /* each refusal says why */
    for (size = 0; size < t.size; size++) {
        if (size == 8 + sizeof counts) continue; /* books without a sender */
        REQUIRE(ut_books_open(&back) && ex_file_write(path, t.data, size));
        taken += books_read(&back, got, path);
        ut_books_close(&back);
    }
    CHECK_EQ_I(taken, 0);
    ex_text_free(&t);
    unlink(path);
    ut_books_close(&b);
}

/* ---- spread ------------------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

TEST(percentiles_are_near_those_of_all_values)
{
    static const double qs[] = { 0.001, 0.5, 0.9, 0.99, 0.999, 1 };
    enum { N = 20000 };
    static uint64_t values[N];
    static ut_spread s, other;
    rllb_rng rng;
    double sum = 0;
    int32_t i;

    rllb_rng_init(&rng, 5, 0);
    memset(&s, 0, sizeof s);
    memset(&other, 0, sizeof other);
    for (i = 0; i < N; i++) {
        values[i] = (uint64_t)exp(4 + 4 * rllb_rng_normal(&rng)); /* nanoseconds to minutes */
        sum += (double)values[i];
        ut_spread_add(i % 2 ? &s : &other, values[i]);
    }
    spread_merge(&s, &other);
    qsort(values, N, sizeof *values, by_size);
    for (i = 0; i < EX_COUNT(qs); i++) {
        double exact = (double)values[(int32_t)ceil(qs[i] * N) - 1];
        CHECK_NEAR(ut_spread_ms(&s, qs[i]) * 1e6, exact, 0.5 + exact / 128);
    }
    CHECK_REL(spread_mean_ms(&s) * 1e6, sum / N, 1e-9);
    CHECK_EQ_U(s.count, N);
    memset(&s, 0, sizeof s);
    CHECK(isnan(ut_spread_ms(&s, 0.5)));
    ut_spread_add(&s, UINT64_MAX);
    CHECK(isfinite(ut_spread_ms(&s, 0.5)));
}

/* ---- a client's counts ------------------------------------------------------------------------------------------- */

static void came(ut_client *c, ut_books *seen, uint32_t who, uint32_t number, int32_t size)
{
    unsigned char bytes[UT_SIZE_MOST];
    ut_stamp in = { who, number, 1000, false }, got;

    ut_stamp_write(&in, bytes, size);
    ut_client_take(c, seen, bytes, (size_t)size, 2000, &got);
}

TEST(doubles_order_and_strangers_are_counted)
{
    static const uint32_t order[] = { 0, 1, 3, 2, 2, 4, 9, 5, 6, 6 }; /* 2, 5, 6 late; 2 and 6 twice */
    static ut_client c;
    ut_books seen = { 0 };
    int32_t i;

    REQUIRE(ut_books_open(&seen));
    c.next = calloc(UT_SENDERS_MOST, sizeof *c.next);
    REQUIRE(c.next != NULL);
    for (i = 0; i < EX_COUNT(order); i++) {
        came(&c, &seen, 1, order[i], 50);
        came(&c, &seen, 2, (uint32_t)i, 12); /* another sender, in order */
    }
    ut_client_take(&c, &seen, (const unsigned char *)"ping", 4, 0, &(ut_stamp){ 0, 0, 0, false });
    CHECK_EQ_U(c.now.received, 20);
    CHECK_EQ_U(c.now.unique, 18);
    CHECK_EQ_U(c.now.duplicates, 2);
    CHECK_EQ_U(c.now.reordered, 3);
    CHECK_EQ_U(c.now.strangers, 1);
    CHECK_EQ_U(c.now.damaged, 0);
    CHECK_EQ_U(c.now.bytes, 10 * 50 + 10 * 12 + 4);
    free(c.next);
    ut_books_close(&seen);
}

/* ---- a slow client ----------------------------------------------------------------------------------------------- */

static uint64_t done_of(const ut_client *c, int32_t i)
{
    return c->held[(c->held_first + i) % c->held_room].done_ns;
}

TEST(a_slow_client_works_on_so_many_at_a_time)
{
    static ut_client c;
    struct sockaddr_storage from;
    ut_stamp s = { 0, 0, 0, false };
    int32_t i;

    memset(&from, 0, sizeof from);
    sink.slots = 2;
    sink.serve_ms = 10;
    c.held_room = sink.slots + 3;
    c.held = calloc((size_t)c.held_room, sizeof *c.held);
    REQUIRE(c.held != NULL);
    for (i = 0; i < 7; i++) hold(&c, &s, (const unsigned char *)"x", 1, &from, sizeof from, (uint64_t)i * 1000000);
    /* At 0 and 1 ms the first two begin at once; the others when a slot is free; two find no room. */
    CHECK_EQ_U(done_of(&c, 0), 10000000);
    CHECK_EQ_U(done_of(&c, 1), 11000000);
    CHECK_EQ_U(done_of(&c, 2), 20000000);
    CHECK_EQ_U(done_of(&c, 3), 21000000);
    CHECK_EQ_U(done_of(&c, 4), 30000000);
    CHECK_EQ_U(c.now.turned_away, 2);
    served(&c, 11000000);
    CHECK_EQ_U(c.now.delay.count, 2);
    CHECK_EQ_I(c.held_count, 3);
    hold(&c, &s, (const unsigned char *)"x", 1, &from, sizeof from, 50000000); /* long idle: begins when it comes */
    CHECK_EQ_U(done_of(&c, 3), 60000000);
    served(&c, 60000000);
    CHECK_EQ_U(c.now.delay.count, 6);
    sink.slots = 0;
    free(c.held);
}

/* ---- arrivals ---------------------------------------------------------------------------------------------------- */

TEST(arrivals_at_random_and_evenly)
{
    ex_arrivals a = { .law = EX_ARRIVALS_POISSON, .rate = 1000, .duration_s = 20 };
    rllb_stats gaps = { 0 };
    double last = 0, at;
    int32_t n = 0;

    REQUIRE(ex_arrivals_open(&a, NULL, 3, 0) == EX_GO_ON);
    while (isfinite(at = ex_arrivals_next(&a))) {
        rllb_stats_add(&gaps, at - last);
        last = at;
    }
    /* 20,000 expected; four standard deviations, and as many standard errors of an exponential's. */
    CHECK_NEAR((double)gaps.count, 20000, 4 * 141.5);
    CHECK_NEAR(gaps.mean, 1e-3, 4 * 1e-3 / 141.4);
    CHECK_NEAR(rllb_stats_stddev(&gaps), 1e-3, 4 * 1e-3 / 100);
    a = (ex_arrivals){ .law = EX_ARRIVALS_EVEN, .rate = 100, .duration_s = 1 };
    REQUIRE(ex_arrivals_open(&a, NULL, 3, 0) == EX_GO_ON);
    while (isfinite(at = ex_arrivals_next(&a))) {
        CHECK_NEAR(at, n / 100.0, 1e-12);
        n++;
    }
    CHECK_EQ_I(n, 100);
}
