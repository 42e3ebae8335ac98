/* The data path of the UDP allocator: the tables of senders and of what is on its way against plain models of them, and
   forward.c between real sockets of this machine, round by round and by a clock of the test's own. */

#define _GNU_SOURCE

#include "../examples/udp/flows.c"
#include "../examples/udp/forward.c"

#include <pthread.h>
#include <sys/wait.h>

#include "test.h"

/* ---- senders ---------------------------------------------------------------------------------------------------- */

static ud_sender sender(uint32_t address, uint16_t port)
{
    struct sockaddr_in6 a;
    unsigned char *at = (unsigned char *)&a.sin6_addr;

    memset(&a, 0, sizeof a);
    at[10] = at[11] = 0xff;
    address = htonl(address);
    memcpy(at + 12, &address, sizeof address);
    a.sin6_port = htons(port);
    return ud_sender_of(&a);
}

TEST(senders_differ)
{
    ud_sender a = sender(0x7f000001, 5), b = sender(0x7f000001, 6), c = sender(0x7f000002, 5);
    struct sockaddr_in6 link;
    ud_sender d, e;

    CHECK(ud_sender_is(&a, &a));
    CHECK(!ud_sender_is(&a, &b));
    CHECK(!ud_sender_is(&a, &c));
    memset(&link, 0, sizeof link);
    link.sin6_addr.s6_addr[0] = 0xfe;
    link.sin6_addr.s6_addr[1] = 0x80;
    link.sin6_scope_id = 1;
    d = ud_sender_of(&link);
    link.sin6_scope_id = 2;
    e = ud_sender_of(&link);
    CHECK(!ud_sender_is(&d, &e));
    CHECK_EQ_U(ud_sender_hash(&a, 7), ud_sender_hash(&a, 7));
    CHECK(ud_sender_hash(&a, 7) != ud_sender_hash(&a, 8));
    CHECK(ud_sender_hash(&a, 7) != ud_sender_hash(&b, 7));
}

/* Ports one after the other, as a machine gives them out, spread as chance would: chi-squared with 255 degrees of
   freedom is below 347 but for one in 10,000 seeds. */
TEST(hash_spreads)
{
    double chi = 0;
    int32_t count[256] = { 0 }, i;

    for (i = 0; i < 25600; i++) {
        ud_sender s = sender(0x0a000001u + (uint32_t)i / 6400, (uint16_t)(32768 + i % 6400));
        count[ud_sender_hash(&s, 99) & 255]++;
    }
    for (i = 0; i < 256; i++) chi += (count[i] - 100.0) * (count[i] - 100.0) / 100;
    NOTE("chi-squared %.0f", chi);
    CHECK(chi < 347);
}

/* Against a model that looks at everything. */
TEST(flows_table)
{
    enum { MOST = 40, PEOPLE = 100 };
    int32_t spot[PEOPLE], step, i, who, known = 0;
    double last[PEOPLE] = { 0 };
    ud_flows t;
    rllb_rng r;

    rllb_rng_init(&r, 3, 0);
    REQUIRE(ud_flows_create(&t, MOST, 12345, 1));
    for (i = 0; i < PEOPLE; i++) spot[i] = -1;
    for (step = 1; step < 20000; step++) {
        double now_s = step; /* each a new place in the order */
        ud_sender s;
        who = rllb_rng_below(&r, PEOPLE);
        s = sender(0x7f000001, (uint16_t)(1000 + who));
        i = ud_flows_find(&t, &s, ud_flows_bucket(&t, &s), now_s);
        CHECK_EQ_I(i, spot[who]);
        if (i < 0 && known == MOST) {
            int32_t oldest = ud_flows_oldest(&t), expected = -1;
            CHECK_EQ_I(ud_flows_add(&t, &s, ud_flows_bucket(&t, &s), now_s), -1);
            for (i = 0; i < PEOPLE; i++) {
                if (spot[i] >= 0 && (expected < 0 || last[i] < last[expected])) expected = i;
            }
            CHECK_EQ_I(oldest, spot[expected]);
            ud_flows_forget(&t, oldest);
            spot[expected] = i = -1;
            known--;
        }
        if (i < 0) {
            spot[who] = ud_flows_add(&t, &s, ud_flows_bucket(&t, &s), now_s);
            CHECK(spot[who] >= 0 && spot[who] < MOST);
            CHECK_EQ_U(t.flow[spot[who]].key, ud_sender_hash(&s, 1));
            known++;
        } else if (rllb_rng_below(&r, 8) == 0) {
            ud_flows_forget(&t, i);
            spot[who] = -1;
            known--;
        }
        last[who] = now_s;
        CHECK_EQ_I(t.count, known);
        if (test_state.failures) break;
    }
    ud_flows_destroy(&t);
}

TEST(flows_serials_and_scan)
{
    ud_sender a = sender(1, 1), b = sender(1, 2);
    int32_t i, seen = 0, first, second;
    uint32_t serial;
    ud_flows t;

    REQUIRE(ud_flows_create(&t, 5, 1, 1));
    first = ud_flows_add(&t, &a, ud_flows_bucket(&t, &a), 1);
    serial = t.flow[first].serial;
    ud_flows_forget(&t, first);
    second = ud_flows_add(&t, &b, ud_flows_bucket(&t, &b), 1);
    CHECK_EQ_I(second, first);
    CHECK(t.flow[second].serial != serial && t.flow[second].serial != 0);
    for (i = 0; i < 5; i++) seen += ud_flows_next(&t) == second;
    CHECK_EQ_I(seen, 1);
    ud_flows_destroy(&t);
}

/* ---- on their way ----------------------------------------------------------------------------------------------- */

TEST(flights_table)
{
    enum { MOST = 64, OWNERS = 5, CLIENTS = 4, STEPS = 30000 };
    struct { uint32_t owner; int32_t client; double at_s; bool live; } *model;
    int32_t step, i, first = 0, last = 0;
    ud_flights t;
    rllb_rng r;

    rllb_rng_init(&r, 4, 0);
    model = calloc(STEPS, sizeof *model);
    REQUIRE(model && ud_flights_create(&t, MOST));
    for (step = 0; step < STEPS && !test_state.failures; step++) {
        uint32_t owner = (uint32_t)rllb_rng_below(&r, OWNERS);
        int32_t client = rllb_rng_below(&r, CLIENTS), got = -1, live = 0;
        double at_s = -1;
        for (i = first; i < last; i++) live += model[i].live;
        CHECK_EQ_I(t.count, live);
        while (first < last && !model[first].live) first++;
        switch (rllb_rng_below(&r, 5)) {
        case 0:
        case 1:
            CHECK_EQ_I(ud_flights_add(&t, owner, client, step), last - first < MOST);
            if (last - first >= MOST) break;
            model[last].owner = owner;
            model[last].client = client;
            model[last].at_s = step;
            model[last++].live = true;
            break;
        case 2:
        case 3:
            for (i = first; i < last; i++) {
                if (model[i].live && model[i].owner == owner && model[i].client == client) break;
            }
            CHECK_EQ_I(ud_flights_take(&t, owner, client, &at_s), i < last);
            if (i == last) break;
            CHECK_NEAR(at_s, model[i].at_s, 0);
            model[i].live = false;
            break;
        default:
            CHECK_EQ_I(ud_flights_expire(&t, step - 100, &got, &at_s), first < last && model[first].at_s <= step - 100);
            if (got < 0) break;
            CHECK_EQ_I(got, model[first].client);
            CHECK_NEAR(at_s, model[first].at_s, 0);
            model[first].live = false;
            break;
        }
    }
    ud_flights_destroy(&t);
    free(model);
}

/* Many queues of few each: found by few buckets, in each other's way. */
TEST(flights_crowded)
{
    enum { MOST = 64, OWNERS = 30, CLIENTS = 9, ADDED = 20000 };
    struct { uint32_t owner; int32_t client; bool live; } *model = calloc(ADDED, sizeof *model);
    int32_t i, j, got, first = 0, last = 0, emptied = 0;
    double at_s;
    ud_flights t;
    rllb_rng r;

    rllb_rng_init(&r, 5, 0);
    REQUIRE(model && ud_flights_create(&t, MOST));
    while (last < ADDED && !test_state.failures) {
        while (first < last && !model[first].live) first++;
        if (last - first < MOST && rllb_rng_below(&r, 5) < 3) {
            model[last].owner = 1 + (uint32_t)rllb_rng_below(&r, OWNERS);
            model[last].client = rllb_rng_below(&r, CLIENTS);
            model[last].live = true;
            CHECK(ud_flights_add(&t, model[last].owner, model[last].client, last));
            last++;
            continue;
        }
        if (first == last) continue;
        if (rllb_rng_below(&r, 4) == 0) {
            CHECK(ud_flights_expire(&t, last, &got, &at_s));
            CHECK(got == model[first].client && at_s == first);
            model[first].live = false;
            continue;
        }
        j = first + rllb_rng_below(&r, last - first); /* the first of this one's queue, if there is any */
        for (i = first; i < last; i++) {
            if (model[i].live && model[i].owner == model[j].owner && model[i].client == model[j].client) break;
        }
        CHECK_EQ_I(ud_flights_take(&t, model[j].owner, model[j].client, &at_s), i < last);
        if (i == last) {
            emptied++;
            continue;
        }
        CHECK_NEAR(at_s, i, 0);
        model[i].live = false;
    }
    CHECK(emptied > 1000);
    for (i = first; i < last; i++) { /* each is where it is looked for */
        if (model[i].live) CHECK(ud_flights_take(&t, model[i].owner, model[i].client, &at_s) && at_s == i);
    }
    CHECK_EQ_I(t.count, 0);
    ud_flights_destroy(&t);
    free(model);
}

/* ---- between sockets -------------------------------------------------------------------------------------------- */

enum { CLIENTS_MOST = 4 };

typedef struct rig {
    ud_config set;
    ud_board board;
    rllb_balancer *b;
    ud_forward *f;
    int client[CLIENTS_MOST];
    double now_s;
    uint64_t said, answered; /* to the port, and to the senders' sockets */
} rig;

static rig the;

static struct sockaddr_in at_port(int port)
{
    struct sockaddr_in a;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;

    memset(&a, 0, sizeof a);
    getsockname(fd, (struct sockaddr *)&a, &size);
    return ntohs(a.sin_port);
}

static int open_peer(void)
{
    struct sockaddr_in a = at_port(0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), room = 4 << 20;

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0) abort();
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    return fd;
}

/* On a port that the kernel gives to nobody by itself while it is closed, where there are such. */
static int open_quiet_peer(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), i;

    if (fd < 0) abort();
    for (i = 0; i < 10000; i++) {
        struct sockaddr_in a = at_port(20000 + (getpid() * 17 + i) % 10000);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    }
    abort();
}

static struct sockaddr_in6 mapped(int port)
{
    struct sockaddr_in6 a;

    memset(&a, 0, sizeof a);
    a.sin6_family = AF_INET6;
    a.sin6_port = htons((uint16_t)port);
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.sin6_addr);
    return a;
}

static int32_t join(int fd)
{
    rllb_server_desc s = { NULL, 1 };
    struct sockaddr_in6 a = mapped(port_of(fd));
    int32_t index = -1;

    if (rllb_balancer_add(the.b, &s, the.now_s, &index) != RLLB_OK) return -1;
    ud_seat_put(&the.board, index, &a);
    ud_board_mirror(&the.board, the.b);
    return index;
}

static bool begin(rllb_balance policy, ud_sticky sticky, bool replies, int32_t clients)
{
    rllb_balancer_desc d;
    int32_t i;

    memset(&the.board, 0, sizeof the.board);
    memset(&the.set, 0, sizeof the.set);
    the.said = the.answered = 0;
    the.now_s = 100;
    the.set.listen = mapped(0);
    the.set.sticky = sticky;
    the.set.replies = replies;
    the.set.flows = 64;
    the.set.idle_s = 10;
    the.set.window_s = 0.5;
    the.set.seed = 1;
    rllb_balancer_desc_default(&d);
    d.policy = policy;
    d.capacity = 16;
    d.ties = RLLB_TIES_FIRST;
    d.guard.minimum_share = RLLB_OFF;
    the.b = rllb_balancer_create(&d);
    if (!the.b) return false;
    for (i = 0; i < CLIENTS_MOST; i++) the.client[i] = -1;
    for (i = 0; i < clients; i++) {
        the.client[i] = open_peer();
        if (join(the.client[i]) != i) return false;
    }
    if (!ud_forward_create(&the.set, the.b, &the.board, &the.f)) return false;
    the.f->scanned_s = the.now_s;
    return true;
}

static void finish(void)
{
    int32_t i;

    ud_forward_destroy(the.f);
    rllb_balancer_destroy(the.b);
    for (i = 0; i < CLIENTS_MOST; i++) {
        if (the.client[i] >= 0) close(the.client[i]);
    }
    the.f = NULL;
}

/* One round of the loop of ud_forward_run, at the test's time. */
static void run_round(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(the.f->poll, events, EVENTS, 0);

    the.f->now_s = the.now_s;
    the.f->now_us = (uint64_t)(1e6 * the.now_s);
    look_around(the.f);
    if (serve(the.f, events, n)) take_datagrams(the.f);
}

#define PATIENCE_MS 60000 /* where something comes: a busy machine may take long */

/* Until all that was sent has been taken, and nothing more happens. */
static void settle(void)
{
    struct pollfd p = { the.f->poll, POLLIN, 0 };
    const ud_board *b = &the.board;
    double until_s = ex_clock_s() + 1e-3 * PATIENCE_MS;
    int i;

    run_round();
    while ((b->received < the.said || b->returned + b->strangers + b->dropped < the.answered) &&
           ex_clock_s() < until_s) {
        poll(&p, 1, 3);
        run_round();
    }
    for (i = 0; i < 2000 && poll(&p, 1, 3) > 0; i++) run_round();
}

static void send_to(int fd, int port, const void *data, size_t size)
{
    struct sockaddr_in a = at_port(port);

    if (sendto(fd, data, size, 0, (struct sockaddr *)&a, sizeof a) != (ssize_t)size) NOTE("%s", strerror(errno));
    else if (port == ud_forward_port(the.f)) the.said++;
    else the.answered++;
}

static void say(int fd, const char *text)
{
    send_to(fd, ud_forward_port(the.f), text, strlen(text));
}

static unsigned char heard[70000];

/* The size of what came, -1: nothing. port: where from. */
static int hear_soon(int fd, int *port, int patience_ms)
{
    struct pollfd p = { fd, POLLIN, 0 };
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    int n;

    memset(&a, 0, sizeof a);
    if (patience_ms) poll(&p, 1, patience_ms);
    n = (int)recvfrom(fd, heard, sizeof heard - 1, MSG_DONTWAIT, (struct sockaddr *)&a, &size);
    heard[n > 0 ? n : 0] = '\0';
    *port = ntohs(a.sin_port);
    return n;
}

static int hear_from(int fd, int *port)
{
    return hear_soon(fd, port, PATIENCE_MS);
}

static int hear(int fd)
{
    int port;

    return hear_from(fd, &port);
}

/* Nothing has come, nor is it on its way. */
static bool is_silent(int fd)
{
    int port;

    return hear_soon(fd, &port, 20) < 0;
}

/* How many come, if it is not more than so many; what else is there. */
static int count_of(int fd, int wanted)
{
    int port, n = 0;

    while (hear_soon(fd, &port, n < wanted ? PATIENCE_MS : 0) >= 0) n++;
    return n;
}

static rllb_server_info info_of(int32_t client)
{
    rllb_server_info info;

    rllb_balancer_server(the.b, client, &info);
    return info;
}

TEST(sticky)
{
    int peer[12], i, j, where[12];

    REQUIRE(begin(RLLB_BALANCE_LSQ, UD_STICKY_FLOW, true, 3));
    for (i = 0; i < 12; i++) {
        where[i] = -1;
        peer[i] = open_peer();
    }
    for (j = 0; j < 5; j++) {
        for (i = 0; i < 12; i++) {
            char text[8];
            snprintf(text, sizeof text, "%d %d", i, j);
            say(peer[i], text);
        }
        settle();
        the.now_s += 0.2;
    }
    for (i = 0; i < 3; i++) {
        int last[12], who, turn;
        for (j = 0; j < 12; j++) last[j] = -1;
        for (j = 0; j < 20; j++) { /* four senders each: the shortest queue */
            REQUIRE(hear(the.client[i]) > 0);
            REQUIRE(sscanf((char *)heard, "%d %d", &who, &turn) == 2 && who >= 0 && who < 12);
            CHECK(where[who] < 0 || where[who] == i);
            CHECK_EQ_I(turn, last[who] + 1);
            where[who] = i;
            last[who] = turn;
        }
        CHECK_EQ_I(count_of(the.client[i], 0), 0);
    }
    for (i = 0; i < 3; i++) {
        CHECK_EQ_I(info_of(i).in_flight, 4);
        CHECK_EQ_U(the.board.seat[i].sent, 20);
        CHECK_EQ_U(the.board.seat[i].flows, 4);
    }
    CHECK_EQ_U(the.board.flows_open, 12);
    the.now_s += 10.5; /* all are silent */
    settle();
    CHECK_EQ_U(the.board.flows_open, 0);
    for (i = 0; i < 3; i++) CHECK_EQ_I(info_of(i).in_flight, 0);
    for (i = 0; i < 12; i++) close(peer[i]);
    finish();
}

TEST(per_datagram)
{
    int peer, i;

    REQUIRE(begin(RLLB_BALANCE_ROUND_ROBIN, UD_STICKY_DATAGRAM, false, 3));
    peer = open_peer();
    for (i = 0; i < 300; i++) say(peer, "datagram");
    settle();
    for (i = 0; i < 3; i++) {
        CHECK_EQ_I(info_of(i).in_flight, 100);
        CHECK_EQ_I(count_of(the.client[i], 100), 100);
    }
    CHECK_EQ_U(the.board.sent, 300);
    CHECK(the.board.calls < 300); /* many at once */
    the.now_s += 0.49;
    settle();
    CHECK_EQ_I(info_of(0).in_flight, 100);
    the.now_s += 0.02;
    settle();
    for (i = 0; i < 3; i++) {
        CHECK_EQ_I(info_of(i).in_flight, 0);
        CHECK_EQ_U(info_of(i).samples, 100); /* nothing refused: well */
    }
    close(peer);
    finish();
}

/* Any length arrives as it was sent, in order, whether put together for the kernel or not. */
static void lengths(bool replies, bool cuts)
{
    static const int size[] = { 0, 1, 100, 100, 100, 60, 100, 0, 0, 65507, 1473, 1473, 1473, 20, 65507, 9000, 9000, 1,
                                2, 3, 3, 2, 1, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500 };
    static unsigned char data[65507];
    int peer, i, on = 1, n = (int)(sizeof size / sizeof *size);

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, replies, 1));
    if (!cuts) { /* without checksums the kernel refuses to cut */
        for (i = 0; replies && i < the.f->flows_most; i++) {
            setsockopt(the.f->socket[i], SOL_SOCKET, SO_NO_CHECK, &on, sizeof on);
        }
        if (!replies) setsockopt(the.f->shared, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on);
    }
    peer = open_peer();
    for (i = 0; i < n; i++) {
        memset(data, i + 1, sizeof data);
        send_to(peer, ud_forward_port(the.f), data, (size_t)size[i]);
    }
    settle();
    for (i = 0; i < n; i++) {
        int got = hear(the.client[0]);
        CHECK_EQ_I(got, size[i]);
        if (got < 1) continue;
        CHECK(heard[0] == i + 1 && heard[got / 2] == i + 1 && heard[got - 1] == i + 1);
    }
    CHECK_EQ_U(the.board.received, (uint64_t)n);
    CHECK_EQ_U(the.board.sent, (uint64_t)n);
    CHECK_EQ_U(the.board.dropped, 0);
    if (cuts && the.f->segment_most) CHECK(the.board.calls <= 3);
    if (!cuts) CHECK(the.f->segment_most < 100);
    CHECK_EQ_I(count_of(the.client[0], 0), 0);
    close(peer);
    finish();
}

TEST(lengths_of_flows)
{
    lengths(true, true);
}

TEST(lengths_by_one_socket)
{
    lengths(false, true);
}

TEST(lengths_where_the_kernel_cuts_nothing)
{
    lengths(true, false);
    lengths(false, false);
}

/* What a sender lets the kernel cut comes in one piece where the port takes such, and goes on in parts. */
TEST(put_together_by_the_sender)
{
    static unsigned char data[1050];
    int peer, i, segment = 100, n = 0;

    REQUIRE(begin(RLLB_BALANCE_ROUND_ROBIN, UD_STICKY_DATAGRAM, true, 2));
    peer = open_peer();
    if (setsockopt(peer, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) {
        close(peer);
        finish();
        SKIP("this kernel cuts no datagrams (UDP_SEGMENT)");
    }
    for (i = 0; i < (int)sizeof data; i++) data[i] = (unsigned char)(i / 100);
    send_to(peer, ud_forward_port(the.f), data, sizeof data);
    the.said += 10;
    settle();
    CHECK_EQ_U(the.board.received, 11);
    for (i = 0; i < 11; i++) {
        int got = hear(the.client[i % 2]);
        CHECK_EQ_I(got, i == 10 ? 50 : 100);
        CHECK(got < 1 || (heard[0] == i && heard[got - 1] == i));
        n += got;
    }
    CHECK_EQ_I(n, 1050);
    close(peer);
    finish();
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

TEST(replies_return)
{
    int peer[2], i, port, at[2];

    REQUIRE(begin(RLLB_BALANCE_LSQ, UD_STICKY_FLOW, true, 1));
    for (i = 0; i < 2; i++) {
        peer[i] = open_peer();
        say(peer[i], i ? "second" : "first");
        settle();
        REQUIRE(hear_from(the.client[0], &at[i]) > 0);
    }
    CHECK(at[0] != at[1]); /* a port for each sender */
    for (i = 1; i >= 0; i--) send_to(the.client[0], at[i], i ? "to second" : "to first", i ? 9 : 8);
    settle();
    for (i = 0; i < 2; i++) {
        CHECK(hear_from(peer[i], &port) > 0);
        CHECK_STR((char *)heard, i ? "to second" : "to first");
        CHECK_EQ_I(port, ud_forward_port(the.f));
    }
    CHECK_EQ_U(the.board.returned, 2);
    CHECK_EQ_U(the.board.seat[0].replies, 2);
    CHECK(the.board.seat[0].answered_us > 0 && the.board.seat[0].unanswered_us == 0);
    CHECK_EQ_U(info_of(0).samples, 2); /* each told to do well */
    CHECK_EQ_I(info_of(0).in_flight, 2);
    for (i = 0; i < 2; i++) close(peer[i]);
    finish();
}

TEST(replies_end_datagrams)
{
    int peer, port[3], i;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_DATAGRAM, true, 1));
    peer = open_peer();
    for (i = 0; i < 3; i++) {
        say(peer, "x");
        settle();
        REQUIRE(hear_from(the.client[0], &port[i]) == 1);
        the.now_s += 0.1;
    }
    CHECK(port[0] == port[1] && port[1] == port[2]);
    CHECK_EQ_I(info_of(0).in_flight, 3);
    send_to(the.client[0], port[0], "r", 1); /* the first was sent 0.3 s ago */
    settle();
    CHECK_EQ_I(info_of(0).in_flight, 2);
    CHECK_NEAR(info_of(0).duration_sum_s, 0.3, 1e-6);
    the.now_s += 0.35; /* the second waits for 0.55 s */
    settle();
    CHECK_EQ_I(info_of(0).in_flight, 1);
    the.now_s += 0.1;
    settle();
    CHECK_EQ_I(info_of(0).in_flight, 0);
    CHECK_EQ_U(info_of(0).samples, 1); /* no reply is no sample */
    send_to(the.client[0], port[0], "late", 4);
    settle();
    CHECK_EQ_I(hear(peer), 1);
    CHECK_EQ_I(hear(peer), 4); /* late, but it goes back */
    CHECK_EQ_U(info_of(0).done, 3);
    close(peer);
    finish();
}

TEST(strangers)
{
    int peer, other, port = 0;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 2));
    peer = open_peer();
    other = open_peer();
    say(peer, "hello");
    settle();
    REQUIRE(hear_from(the.client[0], &port) == 5);
    send_to(other, port, "spoofed", 7);
    settle();
    CHECK(is_silent(peer));
    CHECK_EQ_U(the.board.strangers, 1);
    send_to(the.client[1], port, "a client, though not its own", 28);
    settle();
    CHECK_EQ_I(hear(peer), 28);
    CHECK_EQ_U(info_of(0).samples + info_of(1).samples, 0);
    close(other);
    close(peer);
    finish();
}

/* As many replies to one sender as its socket holds, which is more than the kernel gives unasked, wait until they are
   read. */
TEST(replies_in_a_burst)
{
    enum { BURST = 400 };
    int peer, port = 0, i;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 1));
    peer = open_peer();
    say(peer, "x");
    settle();
    REQUIRE(hear_from(the.client[0], &port) == 1);
    for (i = 0; i < BURST; i++) send_to(the.client[0], port, heard, 100);
    settle();
    CHECK_EQ_U(the.board.returned, BURST);
    CHECK_EQ_I(count_of(peer, BURST), BURST);
    close(peer);
    finish();
}

/* A sender's socket serves another one later: what comes late for the first reaches nobody. */
TEST(late_replies_reach_nobody)
{
    int peer[2], port[2], i;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 1));
    for (i = 0; i < 2; i++) peer[i] = open_peer();
    say(peer[0], "one");
    settle();
    REQUIRE(hear_from(the.client[0], &port[0]) == 3);
    send_to(the.client[0], port[0], "waits", 5); /* lies in the socket while its sender is forgotten */
    the.now_s += 11;
    the.f->now_s = the.now_s;
    forget_silent(the.f);
    CHECK_EQ_I(the.f->flows.count, 0);
    say(peer[1], "two");
    the.answered = 0; /* it is nobody's */
    settle();
    REQUIRE(hear_from(the.client[0], &port[1]) == 3);
    CHECK(port[1] != port[0]);
    send_to(the.client[0], port[0], "late", 4);
    the.answered = 0;
    settle();
    for (i = 0; i < 2; i++) {
        CHECK(is_silent(peer[i]));
        close(peer[i]);
    }
    finish();
}

/* ---- clients come and go ---------------------------------------------------------------------------------------- */

TEST(nobody_there)
{
    int peer;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 0));
    peer = open_peer();
    say(peer, "anybody?");
    settle();
    CHECK_EQ_U(the.board.no_client, 1);
    the.client[0] = open_peer();
    CHECK_EQ_I(join(the.client[0]), 0);
    say(peer, "now");
    settle();
    CHECK_EQ_I(hear(the.client[0]), 3);
    close(peer);
    finish();
}

/* Added, but its address is not yet known: others serve, and nothing is sent nowhere. */
TEST(no_address_yet)
{
    rllb_server_desc s = { "early", 1 };
    int32_t index, i;
    int peer;

    REQUIRE(begin(RLLB_BALANCE_ROUND_ROBIN, UD_STICKY_DATAGRAM, false, 1));
    REQUIRE(rllb_balancer_add(the.b, &s, the.now_s, &index) == RLLB_OK);
    peer = open_peer();
    for (i = 0; i < 10; i++) say(peer, "x");
    settle();
    CHECK_EQ_I(count_of(the.client[0], 10), 10);
    CHECK_EQ_I(info_of(index).in_flight, 0);
    CHECK_EQ_U(the.board.no_client, 0);
    close(peer);
    finish();
}

TEST(drained)
{
    int peer[6], i, before;

    REQUIRE(begin(RLLB_BALANCE_LSQ, UD_STICKY_FLOW, true, 2));
    for (i = 0; i < 6; i++) {
        peer[i] = open_peer();
        say(peer[i], "x");
    }
    settle();
    before = count_of(the.client[0], 3);
    CHECK_EQ_I(before, 3);
    CHECK_EQ_I(count_of(the.client[1], 3), 3);
    rllb_balancer_set_state(the.b, 0, RLLB_SERVER_DRAINING, the.now_s);
    ud_board_mirror(&the.board, the.b);
    for (i = 0; i < 5; i++) say(peer[i], "y"); /* the last one, of client 1, is silent */
    settle();
    CHECK_EQ_I(count_of(the.client[0], 0), 0);
    CHECK_EQ_I(count_of(the.client[1], 5), 5);
    CHECK_EQ_I(info_of(0).in_flight, 0);
    CHECK_EQ_U(the.board.flows_moved, 3);
    rllb_balancer_set_state(the.b, 0, RLLB_SERVER_UP, the.now_s);
    rllb_balancer_set_state(the.b, 1, RLLB_SERVER_DOWN, the.now_s);
    ud_board_mirror(&the.board, the.b);
    for (i = 0; i < 20; i++) { /* silent ones leave too, within a second or two */
        the.now_s += 0.1;
        settle();
    }
    CHECK_EQ_I(info_of(1).in_flight, 0);
    for (i = 0; i < 6; i++) close(peer[i]);
    finish();
}

TEST(removed_and_back_elsewhere)
{
    struct sockaddr_in6 address;
    uint32_t put;
    int peer, old = -1;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 2));
    peer = open_peer();
    say(peer, "x");
    settle();
    CHECK_EQ_I(count_of(the.client[0], 1), 1);
    rllb_balancer_remove(the.b, 0, the.now_s);
    ud_board_mirror(&the.board, the.b);
    CHECK(ud_seat_get(&the.board.seat[0], &address, &put)); /* a flow is there still */
    say(peer, "y");
    settle();
    CHECK_EQ_I(count_of(the.client[1], 1), 1);
    ud_board_mirror(&the.board, the.b);
    CHECK(!ud_seat_get(&the.board.seat[0], &address, &put));
    old = the.client[0];
    the.client[0] = open_peer();
    CHECK_EQ_I(join(the.client[0]), 0);
    rllb_balancer_set_state(the.b, 1, RLLB_SERVER_DOWN, the.now_s);
    ud_board_mirror(&the.board, the.b);
    say(peer, "z");
    settle();
    CHECK_EQ_I(count_of(old, 0), 0);
    CHECK_EQ_I(count_of(the.client[0], 1), 1);
    close(old);
    close(peer);
    finish();
}

/* Nobody listens at a client: its senders are told to others at once, it is ejected, and comes back when it answers. */
static void refuses(ud_sticky sticky, bool replies)
{
    int peer[8], i, k, port, got;
    struct sockaddr_in a;
    rllb_counters counters;
    double until_s;

    REQUIRE(begin(RLLB_BALANCE_LSQ, sticky, replies, 0));
    for (i = 0; i < 2; i++) {
        the.client[i] = i == 0 ? open_quiet_peer() : open_peer();
        REQUIRE(join(the.client[i]) == i);
    }
    for (i = 0; i < 8; i++) peer[i] = open_peer();
    a = at_port(port_of(the.client[0]));
    close(the.client[0]);
    the.client[0] = -1;
    for (k = 0; k < 12; k++) {
        char text[20];
        for (i = 0; i < 8; i++) {
            snprintf(text, sizeof text, "%d of sender %d", k, i);
            say(peer[i], text);
        }
        settle();
        rllb_balancer_tick(the.b, the.now_s);
        ud_board_mirror(&the.board, the.b);
        the.now_s += 0.1;
    }
    until_s = ex_clock_s() + 1e-3 * PATIENCE_MS;
    for (got = count_of(the.client[1], 0); got < 96 && ex_clock_s() < until_s;) {
        settle();
        got += count_of(the.client[1], 0);
    }
    NOTE("%d of 96 arrived, refused %d", got, (int)the.board.seat[0].refused);
    CHECK(the.board.seat[0].refused >= 1);
    CHECK_EQ_I(got, 96); /* what came back refused went to the other */
    CHECK(the.board.resent >= 1);
    CHECK(info_of(0).failed >= 1);
    CHECK_EQ_I(info_of(0).in_flight, 0);
    rllb_balancer_counters(the.b, &counters);
    CHECK_EQ_U(counters.stray_done, 0);
    the.client[0] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    REQUIRE(bind(the.client[0], (struct sockaddr *)&a, sizeof a) == 0);
    for (k = 0; k < 40; k++) {
        if (sticky == UD_STICKY_FLOW && k % 8 == 0) { /* flows that are new: old ones stay where they are well */
            close(peer[k / 8]);
            peer[k / 8] = open_peer();
        }
        for (i = 0; i < 8; i++) say(peer[i], "x");
        settle();
        for (i = 0; i < 2; i++) {
            while (hear_soon(the.client[i], &port, 0) > 0) {
                if (replies) send_to(the.client[i], port, "r", 1);
            }
        }
        settle();
        rllb_balancer_tick(the.b, the.now_s);
        ud_board_mirror(&the.board, the.b);
        the.now_s += 0.35;
    }
    CHECK_EQ_I(info_of(0).state, RLLB_SERVER_UP);
    CHECK(info_of(0).picks > 10);
    for (i = 0; i < 8; i++) close(peer[i]);
    finish();
}

TEST(refused_per_flow)
{
    refuses(UD_STICKY_FLOW, true);
}

TEST(refused_per_flow_by_one_socket)
{
    refuses(UD_STICKY_FLOW, false);
}

TEST(refused_per_datagram)
{
    refuses(UD_STICKY_DATAGRAM, true);
}

TEST(refused_per_datagram_by_one_socket)
{
    refuses(UD_STICKY_DATAGRAM, false);
}

/* Control asks that a client which is down be tried: the next new sender goes there, and stays for a reply. */
TEST(tried)
{
    int peer, port = 0;

    REQUIRE(begin(RLLB_BALANCE_LSQ, UD_STICKY_FLOW, true, 2));
    rllb_balancer_set_state(the.b, 0, RLLB_SERVER_DOWN, the.now_s);
    ud_board_mirror(&the.board, the.b);
    peer = open_peer();
    ud_try_ask(&the.board, 0);
    say(peer, "x");
    settle();
    CHECK_EQ_I(hear_from(the.client[0], &port), 1);
    say(peer, "y");
    settle();
    CHECK_EQ_I(hear_from(the.client[0], &port), 1);
    send_to(the.client[0], port, "r", 1);
    settle();
    CHECK_EQ_I(hear(peer), 1);
    CHECK(the.board.seat[0].answered_us > 0);
    the.now_s += 2;
    say(peer, "z"); /* it is still down: enough */
    settle();
    CHECK_EQ_I(hear_from(the.client[1], &port), 1);
    close(peer);
    finish();
}

/* ---- floods ----------------------------------------------------------------------------------------------------- */

/* A hundred thousand senders and room for 64: as if they had come through the port, since one machine has not so many
   addresses. Nothing grows, and who sends all the time is not pushed out. */
static void flood(ud_sticky sticky)
{
    int32_t i, k, at = 0, mine;
    ud_sender steady = sender(0x7f000001, 77);
    uint32_t serial;

    REQUIRE(begin(RLLB_BALANCE_LSQ, sticky, true, 1));
    for (i = 0; i < 100000 / BATCH; i++) {
        the.now_s += 0.11;
        the.f->now_s = the.now_s;
        for (k = 0; k < BATCH; k++, at++) {
            struct sockaddr_in6 *name = &the.f->in_name[k];
            *name = mapped(k == 5 ? 77 : 1 + at % 60000);
            if (k != 5) name->sin6_addr.s6_addr[13] = (unsigned char)(1 + at / 60000);
            the.f->in[k].msg_len = 10;
            the.f->in[k].msg_hdr.msg_controllen = 0;
        }
        take_messages(the.f, BATCH);
        flush(the.f, false);
        look_around(the.f);
        if (i == 0) {
            mine = ud_flows_find(&the.f->flows, &steady, ud_flows_bucket(&the.f->flows, &steady), the.now_s);
            REQUIRE(mine >= 0);
            serial = the.f->flows.flow[mine].serial;
        }
        count_of(the.client[0], 0);
    }
    mine = ud_flows_find(&the.f->flows, &steady, ud_flows_bucket(&the.f->flows, &steady), the.now_s);
    REQUIRE(mine >= 0);
    CHECK_EQ_U(the.f->flows.flow[mine].serial, serial);
    CHECK_EQ_I(the.f->flows.count, 64);
    CHECK_EQ_U(the.board.received, (uint64_t)at);
    CHECK_EQ_U(the.board.sent, (uint64_t)at);
    CHECK_EQ_U(the.board.no_room, the.board.flows_made - 64);
    if (sticky == UD_STICKY_FLOW) CHECK_EQ_I(info_of(0).in_flight, 64);
    else CHECK_EQ_I(info_of(0).in_flight, the.f->flights.count);
    finish();
}

TEST(flood_of_flows)
{
    flood(UD_STICKY_FLOW);
}

TEST(flood_of_datagrams)
{
    flood(UD_STICKY_DATAGRAM);
}

/* More on their way than the table holds: the oldest count no more, and everything is sent. */
TEST(too_many_on_their_way)
{
    int32_t i, k;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_DATAGRAM, false, 2));
    the.f->now_s = the.now_s;
    for (i = 0; i < FLIGHTS / BATCH + 10; i++) {
        for (k = 0; k < BATCH; k++) {
            the.f->in_name[k] = mapped(5000);
            the.f->in[k].msg_len = 1;
            the.f->in[k].msg_hdr.msg_controllen = 0;
        }
        take_messages(the.f, BATCH);
        box_clear(&the.f->box);
    }
    CHECK_EQ_U(the.board.uncounted, 10 * BATCH);
    CHECK_EQ_I(info_of(0).in_flight + info_of(1).in_flight, FLIGHTS);
    the.now_s += 1;
    settle();
    CHECK_EQ_I(info_of(0).in_flight + info_of(1).in_flight, 0);
    finish();
}

/* Replies and datagrams by turns: with both waiting in heaps, a round moves some of each. */
TEST(both_directions)
{
    int peer, port = 0, i;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 1));
    peer = open_peer();
    say(peer, "x");
    settle();
    REQUIRE(hear_from(the.client[0], &port) == 1);
    for (i = 0; i < 150; i++) {
        say(peer, "to");
        send_to(the.client[0], port, "fro", 3);
    }
    run_round();
    CHECK_EQ_U(the.board.sent, 1 + BATCH);
    CHECK(the.board.returned >= BATCH / 2 && the.board.returned <= BATCH);
    settle();
    CHECK_EQ_U(the.board.sent, 151);
    CHECK_EQ_U(the.board.returned, 150);
    close(peer);
    finish();
}

/* What lies at the port takes so much memory; how much, once it is `wanted` or more. */
static uint32_t lies_there(uint32_t wanted)
{
    double until_s = ex_clock_s() + 1e-3 * PATIENCE_MS;
    uint32_t memory[16] = { 0 };
    socklen_t size;

    do {
        size = sizeof memory;
        if (getsockopt(the.f->listen, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0) return 0;
    } while (memory[0] < wanted && ex_clock_s() < until_s);
    return memory[0];
}

/* While more wait than a round takes, the next takes four times as many: what one sender sent goes on in fewer calls,
   all of it and in order. */
TEST(deeper_while_behind)
{
    enum { PEERS = 20, EACH = 24 };
    int peer[PEERS], next[PEERS] = { 0 }, i, k, who, which;
    uint32_t one = 0;

    REQUIRE(begin(RLLB_BALANCE_LSQ, UD_STICKY_FLOW, true, 2));
    for (i = 0; i < PEERS; i++) peer[i] = open_peer();
    for (k = 0; k < EACH; k++) {
        char text[20];
        for (i = 0; i < PEERS; i++) {
            snprintf(text, sizeof text, "%2d %2d", i, k);
            say(peer[i], text);
            if (!one) one = lies_there(1);
        }
    }
    REQUIRE(one > 0 && lies_there(PEERS * EACH * one) == PEERS * EACH * one);
    run_round();
    CHECK_EQ_U(the.board.sent, BATCH);
    CHECK_EQ_I(the.f->depth, 4 * BATCH);
    run_round();
    CHECK_EQ_U(the.board.sent, 5 * BATCH);
    CHECK_EQ_I(the.f->depth, 16 * BATCH);
    run_round();
    CHECK_EQ_U(the.board.sent, PEERS * EACH);
    CHECK(the.board.calls <= 3 * PEERS);
    CHECK_EQ_I(the.f->depth, 8 * BATCH);
    settle();
    for (i = 0; i < 2; i++) {
        for (k = 0; k < PEERS / 2 * EACH; k++) {
            REQUIRE(hear(the.client[i]) > 0);
            REQUIRE(sscanf((char *)heard, "%d %d", &who, &which) == 2 && who >= 0 && who < PEERS);
            CHECK_EQ_I(which, next[who]++);
        }
    }
    for (i = 0; i < PEERS; i++) {
        CHECK_EQ_I(next[i], EACH);
        close(peer[i]);
    }
    finish();
}

/* What waits in the outbox while its slots are filled again: as much as there is room for, whole. */
TEST(slots_filled_again)
{
    enum { SIZE = STORE / 2 / BATCH };
    int32_t i, turn;
    outbox *o;

    REQUIRE(begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, false, 1));
    o = &the.f->box;
    for (turn = 0; turn < 2; turn++) {
        for (i = 0; i < BATCH; i++) {
            memset(the.f->bytes + (size_t)i * SLOT, turn * BATCH + i, SIZE);
            box_put(o, the.f->flows_most, 0, the.f->bytes + (size_t)i * SLOT, SIZE);
        }
        CHECK(box_keep(o));
    }
    memset(the.f->bytes, 0xff, (size_t)BATCH * SLOT);
    box_put(o, the.f->flows_most, 0, the.f->bytes, 1);
    CHECK(!box_keep(o));
    CHECK_EQ_I(o->items, 2 * BATCH + 1);
    for (i = 0; i < 2 * BATCH; i++) {
        const unsigned char *data = o->item[i].data;
        CHECK(data[0] == i && data[SIZE / 2] == i && data[SIZE - 1] == i);
        CHECK(data >= o->store && data + SIZE <= o->store + STORE);
    }
    CHECK(o->item[2 * BATCH].data == the.f->bytes);
    flush(the.f, false);
    CHECK_EQ_I(o->bytes + o->kept + o->stored, 0);
    finish();
}

static void *run_and_count(void *user)
{
    struct rusage used;

    ud_forward_run(the.f);
    getrusage(RUSAGE_THREAD, &used);
    *(long *)user = used.ru_nvcsw;
    return NULL;
}

/* How often the data thread slept while 20 datagrams came one by one. */
static long sleeps(double busy_s)
{
    struct timespec pause = { 0, 2000000 };
    pthread_t thread;
    long count = -1;
    int peer, i;

    if (!begin(RLLB_BALANCE_SED, UD_STICKY_FLOW, true, 1)) return -1;
    the.f->busy_s = busy_s;
    peer = open_peer();
    if (pthread_create(&thread, NULL, run_and_count, &count) != 0) return -1;
    for (i = 0; i < 20; i++) {
        int port;
        say(peer, "x");
        CHECK_EQ_I(hear_soon(the.client[0], &port, PATIENCE_MS), 1);
        nanosleep(&pause, NULL);
    }
    ud_store_word(&the.board.stop, 1);
    pthread_join(thread, NULL);
    close(peer);
    finish();
    return count;
}

TEST(busy)
{
    long busy = sleeps(10), idle = sleeps(0);

    NOTE("slept %ld times, without it %ld", busy, idle);
    CHECK(busy >= 0 && busy < 4);
    CHECK(idle > busy);
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

/* The limit of open files is raised as far as it may be; senders are cut to what is left. */
TEST(few_files)
{
    static ud_forward cut;
    struct rlimit before, few;
    pid_t child;
    int status = -1;

    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    few = before;
    few.rlim_cur = FILES_BESIDES + 32;
    REQUIRE(before.rlim_max >= 1000 && setrlimit(RLIMIT_NOFILE, &few) == 0);
    cut.flows_most = 500;
    fit_flows(&cut);
    CHECK_EQ_I(cut.flows_most, 500);
    CHECK(getrlimit(RLIMIT_NOFILE, &few) == 0 && few.rlim_cur >= 500 + FILES_BESIDES);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    child = fork();
    if (child == 0) { /* without root's right to have more */
        few.rlim_cur = few.rlim_max = FILES_BESIDES + 32;
        if (setrlimit(RLIMIT_NOFILE, &few) != 0 || (geteuid() == 0 && setuid(65534) != 0)) _exit(2);
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        cut.flows_most = 500;
        fit_flows(&cut);
        _exit(cut.flows_most == 32 ? 0 : 1);
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_EQ_I(status, 0);
}
