/* forward.c - the data path: datagrams in, a client for each, datagrams out, replies back to their senders

   One thread. Each round of its loop takes up to `depth` datagrams from the port, BATCH by a call, and a like number
   of replies; so neither direction waits for more than a round of the other, however many come. Between rounds it ends
   what has waited long enough, forgets who is silent, and looks at a few senders in turn.

   What is to be sent goes into an outbox first, in groups of one socket and one receiver, each in the order of arrival;
   then one call for each socket. Datagrams of a group that follow each other with one size travel as one message that
   the kernel cuts (UDP_SEGMENT), the last of them may be shorter; where a size is refused, as when it is above the
   path's MTU, that size and larger ones go singly from then on. Senders may do so too, and networks that put datagrams
   together (UDP_GRO): those are taken apart here.

   A message costs as much as several datagrams in it, and of many senders hardly two are in one batch. So while more
   wait than a round takes, the next may take four times as many, up to DEPTH: who is behind does less for each.
   Nothing is ever waited for. What lies in the slots of a batch moves to a store, and the same slots are filled again.

   With replies each sender has a socket of its own, unconnected: a client sees one port for each sender, and what comes
   to that port from a client's address goes back. The sockets are made at the start. When another sender gets one, it
   is given another port first (connect to AF_UNSPEC) and emptied, so that replies that come late reach nobody.

   Where a network says that nobody listens at a client, it sends back the beginning of what it is about, Linux up to
   520 bytes of a datagram. If that is all of one that was sent there of late (marks tell), it goes to another client.

   What counts as in flight at a client: per datagram each of them, from the pick to its reply, or for window_s; per
   flow the sender as long as it stays. A sender that was answered (or, without replies, not refused for window_s) is
   ended well and begun again, once a second at most: so an ejected client returns, and policies that go by durations
   see some, though no flow has ended. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* recvmmsg, sendmmsg, in6_pktinfo */
#endif

#include "udp.h"

#include "flows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* SLOT: the largest datagram, and some lines of cache more, or all buffers would fight for the same ones. */
enum {
    BATCH = 64, DEPTH = 2048, SLOT = 65536 + 192, STORE = 1 << 19, ITEMS = 4096, CALL = 128, RUN = 64,
    RUN_BYTES = 65000, EVENTS = DEPTH / 2, SHARE = 4, PLACES = 1024, FLIGHTS = 131072, FILES_BESIDES = 128,
    PORTS_MOST = 28000, MARK_BITS = 14, QUOTE = 520, SEND_TRIES = 4, CLIENT_TRIES = 4, FORGET_MOST = 64,
    SCAN_MOST = 2048, DRAIN_MOST = 4096, BUFFER = 8 << 20, REPLY_BUFFER = 2 << 20
};
#define AWAY_S 0.3   /* nothing is sent to a client for so long that refused something, if there is another */
#define HOLD_S 1.0   /* besides window_s: how long a flow stays at a client that does not fit yet */
#define PROOF_S 1.0  /* between two times that a flow is told to do well */
#define ROUND_S 1.0  /* in which the scan sees every flow */
#define WAIT_S 0.05  /* for events; and a stop is noticed */

/* ---- what is to be sent ----------------------------------------------------------------------------------------- */

typedef struct item {
    unsigned char *data;
    int32_t size, next; /* next of the same group */
} item;

typedef struct group {
    int32_t out, to, first, last, next; /* next of the same socket */
} group;

typedef struct outlet {
    uint64_t stamp; /* of the outbox's content that the rest is about */
    int32_t first, last;
} outlet;

typedef struct outbox {
    item item[ITEMS];
    group group[ITEMS];
    int32_t out[ITEMS]; /* sockets with something to send, in the order of their first */
    int32_t items, groups, outs, last;
    int32_t bytes, kept, stored; /* of all items; items that lie in the store, and bytes there */
    int32_t shared;     /* the number of the socket that many groups may have */
    unsigned char *store;
    uint64_t stamp;
    outlet *outlet;     /* one for each socket */
    outlet *receiver;   /* for each receiver: the group of the shared socket, `last` */
} outbox;

/* A message to be: `count` datagrams of `segment` bytes, the last one perhaps shorter. */
typedef struct run {
    int32_t to, count, segment, bytes;
    bool closed;
} run;

typedef union control {
    size_t align; /* as struct cmsghdr begins */
    unsigned char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
} control;

typedef struct target {
    struct sockaddr_in6 address;
    uint32_t put; /* as in the seat; 0: no address */
    double away_s, refused_s;
    int32_t segment; /* of the latest message of several datagrams */
} target;

typedef struct place {
    ud_sender who;
    int32_t client; /* -1: nobody */
} place;

/* Where a flow's replies go, and from which address of ours. */
typedef struct way_back {
    struct sockaddr_in6 to;
    struct in6_pktinfo from;
} way_back;

struct ud_forward {
    bool by_flow, replies;
    bool any;                   /* we listen on all addresses */
    bool keyed;                 /* the policy, or the one that takes its place, hashes the sender */
    int32_t flows_most;         /* 0: nobody is remembered. Also the number of the socket that is nobody's own */
    double idle_s, window_s, busy_s, now_s, scanned_s, heard_s;
    uint64_t now_us, seed;
    rllb_balancer *worker;
    ud_board *board;
    int listen, shared, poll, port; /* shared: what sends without replies */
    int32_t segment_most;           /* no larger ones are put together; 0: none */
    int *socket;                    /* of each flow */
    way_back *back;
    ud_flows flows;
    ud_flights flights;
    target target[UD_CLIENTS_MOST];
    place place[PLACES];
    uint32_t turn; /* of the board that `place` is from */
    unsigned char *bytes;
    int32_t slots; /* in use */
    int32_t depth; /* datagrams in a round */
    uint64_t mark[1 << MARK_BITS]; /* of what was sent of late */
    bool resends;  /* just now */
    struct mmsghdr in[BATCH], call[CALL];
    struct iovec in_part[BATCH], part[ITEMS];
    struct sockaddr_in6 in_name[BATCH];
    ud_sender who[BATCH];
    uint32_t bucket[BATCH];
    control in_control[BATCH], out_control[CALL];
    run run[CALL];
    outbox box;
};

/* ---- clients ---------------------------------------------------------------------------------------------------- */

void ud_board_mirror(ud_board *b, const rllb_balancer *keeper)
{
    bool changed = false;
    rllb_server_info info;
    int32_t i;

    for (i = 0; i < UD_CLIENTS_MOST; i++) {
        ud_seat *s = &b->seat[i];
        uint32_t fit = 0;
        if (rllb_balancer_server(keeper, i, &info) != RLLB_OK) break;
        fit = info.usable;
        if (ud_load_word(&s->fit) != fit) {
            ud_store_word(&s->fit, fit);
            changed = true;
        }
        if (info.state != RLLB_SERVER_NONE || info.in_flight || !ud_load_word(&s->put) || s->put % 2) continue;
        ud_seat_put(b, i, NULL);
    }
    if (changed) ud_store_word(&b->turn, ud_load_word(&b->turn) + 1);
}

static bool target_read(ud_forward *f, int32_t client)
{
    target *t = &f->target[client];

    t->away_s = t->refused_s = 0;
    t->segment = 0;
    if (ud_seat_get(&f->board->seat[client], &t->address, &t->put)) return true;
    t->put = 0;
    return false;
}

/* Is there an address? The one at hand is up to date then. */
static inline bool target_ready(ud_forward *f, int32_t client)
{
    uint32_t put = ud_load_word(&f->board->seat[client].put);

    return (put && put == f->target[client].put) || target_read(f, client);
}

static place *place_of(ud_forward *f, const ud_sender *who)
{
    uint32_t at = (uint32_t)ud_sender_hash(who, 0);

    while (f->place[at % PLACES].client >= 0 && !ud_sender_is(&f->place[at % PLACES].who, who)) at++;
    return &f->place[at % PLACES];
}

/* Which client has this address; of two, who is gone and came back under another index, the one that fits. */
static int32_t client_at(ud_forward *f, const struct sockaddr_in6 *address)
{
    ud_sender who = ud_sender_of(address);

    return place_of(f, &who)->client;
}

static void read_places(ud_forward *f)
{
    int32_t i;

    f->turn = ud_load_word(&f->board->turn);
    for (i = 0; i < PLACES; i++) f->place[i].client = -1;
    for (i = 0; i < UD_CLIENTS_MOST; i++) {
        ud_sender who;
        place *p;
        if (!target_ready(f, i)) continue;
        who = ud_sender_of(&f->target[i].address);
        p = place_of(f, &who);
        if (p->client >= 0 && !ud_load_word(&f->board->seat[i].fit)) continue;
        p->who = who;
        p->client = i;
    }
}

/* Counted as in flight there already, or -1. */
static inline int32_t choose_client(ud_forward *f, uint64_t key)
{
    int32_t tried[CLIENT_TRIES], count = 0, spare = -1, c;

    if (ud_try_asked(f->board)) {
        c = ud_try_take(f->board);
        if (c >= 0 && c < UD_CLIENTS_MOST && target_ready(f, c) &&
            rllb_balancer_started(f->worker, c, f->now_s) == RLLB_OK) return c;
    }
    c = rllb_balancer_pick(f->worker, key, f->now_s);
    while (c >= 0) {
        bool ready = target_ready(f, c);
        if (ready && f->now_s >= f->target[c].away_s) return c;
        rllb_balancer_done(f->worker, c, f->now_s, f->now_s, RLLB_OUTCOME_CANCELLED);
        if (ready && spare < 0) spare = c;
        if (count == CLIENT_TRIES) break;
        tried[count++] = c;
        c = rllb_balancer_pick_other(f->worker, tried, count, f->now_s);
    }
    if (spare < 0 || rllb_balancer_started(f->worker, spare, f->now_s) != RLLB_OK) return -1;
    return spare;
}

/* ---- per flow --------------------------------------------------------------------------------------------------- */

static bool flow_stays(ud_forward *f, const ud_flow *w)
{
    const ud_seat *s = &f->board->seat[w->client];

    if (!ud_load_word(&s->fit) && f->now_s >= w->held_s) return false;
    return target_ready(f, w->client) && f->now_s >= f->target[w->client].away_s;
}

static void flow_leaves(ud_forward *f, ud_flow *w, rllb_outcome outcome)
{
    if (w->client < 0) return;
    rllb_balancer_done(f->worker, w->client, f->now_s, f->now_s, outcome);
    w->client = -1;
    w->asked_s = 0;
}

static int32_t flow_joins(ud_forward *f, ud_flow *w)
{
    int32_t c = choose_client(f, w->key);

    if (c < 0) return -1;
    w->client = c;
    w->asked_s = 0;
    w->proof_s = f->replies ? f->now_s : f->now_s + f->window_s;
    w->held_s = ud_load_word(&f->board->seat[c].fit) ? 0 : f->now_s + f->window_s + HOLD_S;
    ud_add(&f->board->seat[c].flows, 1);
    return c;
}

static inline int32_t flow_client(ud_forward *f, ud_flow *w)
{
    int32_t before = w->client, c;

    if (before >= 0 && flow_stays(f, w)) return before;
    flow_leaves(f, w, RLLB_OUTCOME_CANCELLED);
    c = flow_joins(f, w);
    if (before >= 0 && c != before) ud_add(&f->board->flows_moved, 1);
    return c;
}

/* All is well between the flow and its client: a request has ended, and another one goes on. */
static void flow_proves(ud_forward *f, ud_flow *w, double took_s)
{
    w->proof_s = f->now_s + PROOF_S;
    rllb_balancer_done(f->worker, w->client, f->now_s - took_s, f->now_s, RLLB_OUTCOME_OK);
    if (rllb_balancer_started(f->worker, w->client, f->now_s) != RLLB_OK) w->client = -1;
}

static void flow_answered(ud_forward *f, ud_flow *w, int32_t client)
{
    double took_s = f->now_s - w->asked_s;
    bool asked = w->asked_s > 0 && took_s <= f->window_s;

    if (client != w->client) return;
    w->asked_s = 0;
    if (asked && f->now_s >= w->proof_s) flow_proves(f, w, took_s);
}

/* ---- failures --------------------------------------------------------------------------------------------------- */

/* A datagram of this flow (-1: who knows whose) was refused by, or could not be sent to, the client. Networks tell that
   of few datagrams, and of one at most that the kernel cut: all that wait there for a reply, or for nothing to be told,
   have failed. */
static void client_refuses(ud_forward *f, int32_t flow, int32_t client)
{
    ud_flow *w = flow >= 0 ? &f->flows.flow[flow] : NULL;
    double started_s;

    ud_add(&f->board->seat[client].refused, 1);
    f->target[client].refused_s = f->now_s;
    f->target[client].away_s = f->now_s + AWAY_S;
    if (!f->by_flow) {
        while (ud_flights_take(&f->flights, w ? w->serial : 0, client, &started_s)) {
            rllb_balancer_done(f->worker, client, started_s, f->now_s, RLLB_OUTCOME_FAILED);
        }
    } else if (w) {
        if (!w->used || w->client != client) return;
        flow_leaves(f, w, RLLB_OUTCOME_FAILED);
        ud_add(&f->board->flows_moved, 1);
    } else if (rllb_balancer_started(f->worker, client, f->now_s) == RLLB_OK) {
        rllb_balancer_done(f->worker, client, f->now_s, f->now_s, RLLB_OUTCOME_FAILED);
    }
}

static int file_of(const ud_forward *f, int32_t out, bool back)
{
    if (out < f->flows_most) return f->socket[out];
    return back ? f->listen : f->shared;
}

/* Tells datagrams apart by client, size, beginning and end. */
static uint64_t mark_of(int32_t client, const unsigned char *data, int32_t size)
{
    uint64_t first = 0, last = 0, x;

    memcpy(&first, data, size < 8 ? (size_t)size : 8);
    if (size >= 8) memcpy(&last, data + size - 8, 8);
    x = (first ^ (uint64_t)(uint32_t)client << 40 ^ (uint64_t)(uint32_t)size << 50) * 0x9fb21c651e98df25u;
    x = (x ^ x >> 32 ^ last) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

/* Where it is kept: the upper bits, to which all that is multiplied goes. */
static uint64_t *mark_place(ud_forward *f, uint64_t mark)
{
    return &f->mark[mark >> (64 - MARK_BITS)];
}

static void send_again(ud_forward *f, int32_t flow, int32_t client, unsigned char *data, int32_t size);

/* On one machine the kernel sends back several datagrams as the one message they were. */
static void send_quoted(ud_forward *f, int32_t flow, int32_t client, unsigned char *quote, int32_t quoted)
{
    uint64_t mark = mark_of(client, quote, quoted);
    int32_t at = 0, size = quoted;

    if (*mark_place(f, mark) != mark && f->target[client].segment) size = f->target[client].segment;
    for (; at < quoted; at += size) {
        send_again(f, flow, client, quote + at, quoted - at < size ? quoted - at : size);
    }
}

/* Which client the network says it cannot reach, or -1; *error: why. */
static int32_t client_of_error(ud_forward *f, struct msghdr *m, uint32_t *error)
{
    struct cmsghdr *c;

    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct sock_extended_err e;
        if (!(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR)) continue;
        memcpy(&e, CMSG_DATA(c), sizeof e);
        *error = e.ee_errno;
        if (e.ee_origin != SO_EE_ORIGIN_ICMP && e.ee_origin != SO_EE_ORIGIN_ICMP6) continue;
        return e.ee_errno == EMSGSIZE ? -1 : client_at(f, m->msg_name); /* that one is about a path's MTU */
    }
    return -1;
}

/* What the network says of datagrams sent before (ICMP); flow -1: through the shared socket. */
static void read_errors(ud_forward *f, int fd, int32_t flow)
{
    union { size_t align; unsigned char bytes[512]; } room;
    unsigned char quote[QUOTE + 1];
    struct iovec part = { quote, sizeof quote };
    struct sockaddr_in6 name;
    socklen_t size = sizeof(int);
    int32_t i, quoted;
    int error;

    for (i = 0; i < DRAIN_MOST; i++) {
        struct msghdr m;
        uint32_t why = 0;
        int32_t client;
        memset(&m, 0, sizeof m);
        memset(&name, 0, sizeof name);
        m.msg_name = &name;
        m.msg_namelen = sizeof name;
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        m.msg_control = &room;
        m.msg_controllen = sizeof room;
        quoted = (int32_t)recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (quoted < 0) break;
        client = client_of_error(f, &m, &why);
        if (client < 0) continue;
        client_refuses(f, flow, client);
        if (why == ECONNREFUSED) send_quoted(f, flow, client, quote, quoted);
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); /* which clears it */
}

/* ---- the outbox ------------------------------------------------------------------------------------------------- */

static void box_clear(outbox *o)
{
    o->items = o->groups = o->outs = 0;
    o->bytes = o->kept = o->stored = 0;
    o->last = -1;
    o->stamp++;
}

static int32_t box_group_new(outbox *o, int32_t out, int32_t to)
{
    int32_t g = o->groups++;
    outlet *l = &o->outlet[out];

    o->group[g].out = out;
    o->group[g].to = to;
    o->group[g].first = o->group[g].last = o->group[g].next = -1;
    if (l->stamp != o->stamp) {
        l->stamp = o->stamp;
        l->first = g;
        o->out[o->outs++] = out;
    } else {
        o->group[l->last].next = g;
    }
    l->last = g;
    return g;
}

/* A sender's socket has few groups: one, or per datagram one for each client. */
static int32_t box_group(outbox *o, int32_t out, int32_t to)
{
    int32_t g;

    if (out == o->shared) {
        outlet *r = &o->receiver[to];
        if (r->stamp != o->stamp) {
            r->stamp = o->stamp;
            r->last = box_group_new(o, out, to);
        }
        return r->last;
    }
    if (o->outlet[out].stamp == o->stamp) {
        for (g = o->outlet[out].first; g >= 0; g = o->group[g].next) {
            if (o->group[g].to == to) return g;
        }
    }
    return box_group_new(o, out, to);
}

static inline void box_put(outbox *o, int32_t out, int32_t to, unsigned char *data, int32_t size)
{
    int32_t i = o->items++, g = o->last;

    if (g < 0 || o->group[g].out != out || o->group[g].to != to) g = o->last = box_group(o, out, to);
    o->item[i].data = data;
    o->item[i].size = size;
    o->item[i].next = -1;
    o->bytes += size;
    if (o->group[g].first < 0) o->group[g].first = i;
    else o->item[o->group[g].last].next = i;
    o->group[g].last = i;
}

/* So that the slots may be filled again. False: there is no room for it, it has to go out before that. */
static bool box_keep(outbox *o)
{
    if (o->bytes > STORE) return false;
    for (; o->kept < o->items; o->kept++) {
        item *i = &o->item[o->kept];
        i->data = memcpy(o->store + o->stored, i->data, (size_t)i->size);
        o->stored += i->size;
    }
    return true;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static void sent_well(ud_forward *f, const run *r, bool back)
{
    ud_seat *s;

    if (back) {
        ud_add(&f->board->returned, (uint64_t)r->count);
        return;
    }
    s = &f->board->seat[r->to];
    ud_add(&f->board->sent, (uint64_t)r->count);
    ud_add(&s->sent, (uint64_t)r->count);
    ud_add(&s->sent_bytes, (uint64_t)r->bytes);
    if (!ud_load(&s->unanswered_us)) ud_store(&s->unanswered_us, f->now_us);
}

/* A machine too busy to send is no client's fault. */
static bool is_busy(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

static void sent_badly(ud_forward *f, int32_t out, const run *r, bool back, int error)
{
    int32_t i;

    ud_add(&f->board->dropped, (uint64_t)r->count);
    if (back || is_busy(error)) return;
    for (i = 0; i < r->count; i++) client_refuses(f, out < f->flows_most ? out : -1, r->to);
}

/* What a message says besides: where to cut it, which of our addresses it is from. */
static void say_besides(ud_forward *f, struct msghdr *m, control *room, const run *r, bool back)
{
    struct cmsghdr *c;

    m->msg_control = NULL;
    m->msg_controllen = 0;
    if (r->count < 2 && !(back && f->any)) return;
    memset(room, 0, sizeof *room);
    m->msg_control = room;
    m->msg_controllen = sizeof *room;
    c = CMSG_FIRSTHDR(m);
    if (r->count > 1) {
        uint16_t segment = (uint16_t)r->segment;
        if (!back) f->target[r->to].segment = r->segment;
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(c), &segment, sizeof segment);
        m->msg_controllen = CMSG_SPACE(sizeof segment);
        if (!(back && f->any)) return;
        c = (struct cmsghdr *)(void *)(room->bytes + CMSG_SPACE(sizeof segment));
    } else {
        m->msg_controllen = 0;
    }
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof f->back[r->to].from);
    memcpy(CMSG_DATA(c), &f->back[r->to].from, sizeof f->back[r->to].from);
    m->msg_controllen += CMSG_SPACE(sizeof f->back[r->to].from);
}

static bool is_refusal_to_cut(int error)
{
    return error == EINVAL || error == EMSGSIZE || error == EIO || error == EOPNOTSUPP;
}

/* Is it worth another try? */
static bool try_again(ud_forward *f, int fd, int32_t out, bool back, int error)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    if (error == EINTR) return true;
    if (is_busy(error)) return poll(&p, 1, 2) >= 0;
    if (is_refusal_to_cut(error)) return false;
    if (!back) read_errors(f, fd, out < f->flows_most ? out : -1); /* about one sent before, not this one */
    return true;
}

/* 0, or what is wrong. */
static int send_message(ud_forward *f, int32_t out, const struct msghdr *m, bool back)
{
    int fd = file_of(f, out, back), error = 0;
    int32_t i;

    for (i = 0; i < SEND_TRIES; i++) {
        ud_add(&f->board->calls, 1);
        if (sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
        error = errno;
        if (!try_again(f, fd, out, back, error)) break;
    }
    return error;
}

/* A message that did not go with the others. If it is the cutting that is refused, its datagrams go singly. */
static void send_alone(ud_forward *f, int32_t out, int32_t k, bool back)
{
    int error = send_message(f, out, &f->call[k].msg_hdr, back);
    struct msghdr one = f->call[k].msg_hdr;
    const run *r = &f->run[k];
    run single = { r->to, 1, 0, 0, true };
    control room;
    int32_t i;

    if (error == 0) {
        sent_well(f, r, back);
    } else if (r->count == 1 || !is_refusal_to_cut(error)) {
        sent_badly(f, out, r, back, error);
    } else {
        if (r->segment <= f->segment_most) f->segment_most = r->segment - 1;
        one.msg_iovlen = 1;
        say_besides(f, &one, &room, &single, back);
        for (i = 0; i < r->count; i++, one.msg_iov++) {
            single.bytes = (int32_t)one.msg_iov->iov_len;
            error = send_message(f, out, &one, back);
            if (error == 0) sent_well(f, &single, back);
            else sent_badly(f, out, &single, back, error);
        }
    }
}

static int32_t take_off(ud_forward *f, uint64_t key, uint32_t owner);

static int32_t who_instead(ud_forward *f, ud_flow *w)
{
    int32_t c;

    if (!f->by_flow) return take_off(f, w ? w->key : 0, w ? w->serial : 0);
    if (w) return flow_client(f, w);
    c = choose_client(f, 0); /* nobody knows whose it was: it counts nowhere */
    if (c >= 0) rllb_balancer_done(f->worker, c, f->now_s, f->now_s, RLLB_OUTCOME_CANCELLED);
    return c;
}

/* To a client that did not refuse of late, or not at all. Nothing of what is done here waits in the outbox: that may be
   under way. */
static void send_again(ud_forward *f, int32_t flow, int32_t client, unsigned char *data, int32_t size)
{
    uint64_t mark = mark_of(client, data, size);
    ud_flow *w = flow >= 0 ? &f->flows.flow[flow] : NULL;
    struct iovec part = { data, (size_t)size };
    run single = { -1, 1, size, size, true };
    struct msghdr m;

    if (f->resends || size > QUOTE || *mark_place(f, mark) != mark || (w && !w->used)) return;
    *mark_place(f, mark) = 0;
    single.to = who_instead(f, w);
    if (single.to < 0 || f->now_s < f->target[single.to].away_s) return;
    memset(&m, 0, sizeof m);
    m.msg_name = &f->target[single.to].address;
    m.msg_namelen = sizeof f->target[single.to].address;
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    f->resends = true;
    mark = mark_of(single.to, data, size);
    *mark_place(f, mark) = mark;
    if (send_message(f, f->replies ? flow : f->flows_most, &m, false) == 0) {
        ud_add(&f->board->resent, 1);
        ud_add(&f->board->seat[single.to].sent, 1);
        ud_add(&f->board->seat[single.to].sent_bytes, (uint64_t)size);
    }
    f->resends = false;
}

/* How many went, or -1. One by itself goes by a plainer call. */
static int send_some(int fd, struct mmsghdr *call, int32_t count)
{
    const struct msghdr *m = &call->msg_hdr;
    int how = MSG_DONTWAIT | MSG_NOSIGNAL;

    if (count > 1) return sendmmsg(fd, call, (unsigned int)count, how);
    if (m->msg_iovlen > 1 || m->msg_control) return sendmsg(fd, m, how) < 0 ? -1 : 1;
    return sendto(fd, m->msg_iov->iov_base, m->msg_iov->iov_len, how, m->msg_name, m->msg_namelen) < 0 ? -1 : 1;
}

static void send_all(ud_forward *f, int32_t out, int32_t count, bool back)
{
    int fd = file_of(f, out, back);
    int32_t at = 0, i;

    for (i = 0; i < count; i++) say_besides(f, &f->call[i].msg_hdr, &f->out_control[i], &f->run[i], back);
    while (at < count) {
        int sent = send_some(fd, f->call + at, count - at);
        ud_add(&f->board->calls, 1);
        if (sent <= 0) {
            send_alone(f, out, at++, back);
            continue;
        }
        for (i = at; i < at + sent; i++) sent_well(f, &f->run[i], back);
        at += sent;
    }
}

static bool run_takes(const ud_forward *f, const run *r, int32_t size)
{
    if (r->closed || size == 0 || size > r->segment || r->segment > f->segment_most) return false;
    return r->count < RUN && r->bytes + size <= RUN_BYTES;
}

static void run_begin(ud_forward *f, int32_t k, int32_t to, struct iovec *part, int32_t size, bool back)
{
    struct msghdr *m = &f->call[k].msg_hdr;
    run *r = &f->run[k];

    m->msg_name = back ? &f->back[to].to : &f->target[to].address;
    m->msg_namelen = sizeof(struct sockaddr_in6);
    m->msg_iov = part;
    m->msg_iovlen = 0;
    m->msg_flags = 0;
    r->to = to;
    r->count = r->bytes = 0;
    r->segment = size;
    r->closed = false;
}

static void send_outlet(ud_forward *f, int32_t out, bool back)
{
    outbox *o = &f->box;
    int32_t g, i, count = 0, parts = 0;

    for (g = o->outlet[out].first; g >= 0; g = o->group[g].next) {
        bool fresh = true;
        for (i = o->group[g].first; i >= 0; i = o->item[i].next) {
            int32_t size = o->item[i].size;
            run *r = &f->run[count - (count > 0)];
            if (fresh || !run_takes(f, r, size)) {
                if (count == CALL) {
                    send_all(f, out, count, back);
                    count = parts = 0;
                }
                run_begin(f, count, o->group[g].to, &f->part[parts], size, back);
                r = &f->run[count++];
                fresh = false;
            }
            if (!back && size > 0 && size <= QUOTE) {
                uint64_t mark = mark_of(o->group[g].to, o->item[i].data, size);
                *mark_place(f, mark) = mark;
            }
            f->part[parts].iov_base = o->item[i].data;
            f->part[parts++].iov_len = (size_t)size;
            f->call[count - 1].msg_hdr.msg_iovlen++;
            r->count++;
            r->bytes += size;
            r->closed = size < r->segment;
        }
    }
    send_all(f, out, count, back);
}

/* back: what lies in the outbox are replies. */
static void flush(ud_forward *f, bool back)
{
    int32_t i;

    for (i = 0; i < f->box.outs; i++) send_outlet(f, f->box.out[i], back);
    box_clear(&f->box);
}

/* ---- senders come and go ---------------------------------------------------------------------------------------- */

/* Another port at the next use, and nothing left of what came to this one. */
static void renew_socket(int fd)
{
    struct sockaddr nobody;
    unsigned char byte;
    int32_t i;

    memset(&nobody, 0, sizeof nobody);
    nobody.sa_family = AF_UNSPEC;
    if (connect(fd, &nobody, sizeof nobody) != 0) return;
    for (i = 0; i < DRAIN_MOST; i++) {
        if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    }
    for (i = 0; i < DRAIN_MOST; i++) {
        if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_ERRQUEUE) < 0) break;
    }
}

/* What it sent in this very batch goes out first, as long as its socket is its own. */
static void forget_flow(ud_forward *f, int32_t flow)
{
    ud_flow *w = &f->flows.flow[flow];

    if (f->replies && f->box.items && w->last_s >= f->now_s) flush(f, false);
    flow_leaves(f, w, RLLB_OUTCOME_CANCELLED);
    ud_flows_forget(&f->flows, flow);
    if (f->replies) renew_socket(f->socket[flow]);
}

static int32_t flow_of(ud_forward *f, int32_t slot)
{
    const ud_sender *who = &f->who[slot];
    int32_t i = ud_flows_find(&f->flows, who, f->bucket[slot], f->now_s);

    if (i < 0) {
        if (f->flows.count == f->flows_most) {
            ud_add(&f->board->no_room, 1);
            forget_flow(f, ud_flows_oldest(&f->flows));
        }
        i = ud_flows_add(&f->flows, who, f->bucket[slot], f->now_s);
        f->back[i].to = f->in_name[slot];
        memset(&f->back[i].from, 0, sizeof f->back[i].from);
        ud_add(&f->board->flows_made, 1);
        ud_store(&f->board->flows_open, (uint64_t)f->flows.count);
    }
    return i;
}

/* ---- receiving -------------------------------------------------------------------------------------------------- */

static void slot_make(ud_forward *f, int32_t i)
{
    struct msghdr *m = &f->in[i].msg_hdr;

    f->in_part[i].iov_base = f->bytes + (size_t)i * SLOT;
    f->in_part[i].iov_len = 65536;
    m->msg_name = &f->in_name[i];
    m->msg_iov = &f->in_part[i];
    m->msg_iovlen = 1;
    m->msg_control = &f->in_control[i];
}

/* What the kernel writes over. */
static void slot_clear(ud_forward *f, int32_t i)
{
    f->in[i].msg_hdr.msg_namelen = sizeof f->in_name[i];
    f->in[i].msg_hdr.msg_controllen = sizeof f->in_control[i];
}

/* How many came, from slot f->slots on, where there is room for `most`. */
static int32_t receive(ud_forward *f, int fd, int32_t most)
{
    int32_t i, n;

    for (i = f->slots; i < f->slots + most; i++) slot_clear(f, i);
    n = (int32_t)recvmmsg(fd, f->in + f->slots, (unsigned int)most, MSG_DONTWAIT, NULL);
    return n > 0 ? n : 0;
}

/* The bytes of each datagram in it but the last; local: the address of ours that it came to. */
static int32_t segment_of(ud_forward *f, int32_t slot, struct in6_pktinfo *local)
{
    struct msghdr *m = &f->in[slot].msg_hdr;
    struct cmsghdr *c;
    int segment = 0;

    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO && c->cmsg_len >= CMSG_LEN(sizeof segment)) {
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
        } else if (local && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(local, CMSG_DATA(c), sizeof *local);
        }
    }
    return segment > 0 ? segment : 0;
}

/* One datagram on its way, per datagram. */
static int32_t take_off(ud_forward *f, uint64_t key, uint32_t owner)
{
    int32_t c = choose_client(f, key), old;
    double started_s;

    if (c < 0) return -1;
    ud_add(&f->board->seat[c].flows, 1);
    while (!ud_flights_add(&f->flights, owner, c, f->now_s)) {
        if (!ud_flights_expire(&f->flights, (double)INFINITY, &old, &started_s)) break;
        rllb_balancer_done(f->worker, old, started_s, f->now_s, RLLB_OUTCOME_CANCELLED);
        ud_add(&f->board->uncounted, 1);
    }
    return c;
}

/* What came in one slot: one datagram, or several of one sender. */
static void take_message(ud_forward *f, int32_t slot)
{
    int32_t flow = f->flows_most ? flow_of(f, slot) : -1, client = -1, size, at = 0;
    int32_t whole = (int32_t)f->in[slot].msg_len, out = f->replies ? flow : f->flows_most, count = 0;
    struct in6_pktinfo *local = f->any && flow >= 0 ? &f->back[flow].from : NULL;
    int32_t segment = f->in[slot].msg_hdr.msg_controllen ? segment_of(f, slot, local) : 0;
    ud_flow *w = flow >= 0 ? &f->flows.flow[flow] : NULL;
    uint64_t key = !f->keyed ? 0 : w ? w->key : ud_sender_hash(&f->who[slot], f->seed);

    if (f->by_flow) client = flow_client(f, w);
    do {
        size = segment && whole - at > segment ? segment : whole - at;
        count++;
        if (!f->by_flow) client = take_off(f, key, f->replies ? w->serial : 0);
        if (client < 0) ud_add(&f->board->no_client, 1);
        else box_put(&f->box, out, client, f->bytes + (size_t)slot * SLOT + at, size);
        if (f->box.items == ITEMS) flush(f, false);
        at += size;
    } while (at < whole);
    ud_add(&f->board->received, (uint64_t)count);
    if (f->by_flow && client >= 0 && !(w->asked_s > 0)) w->asked_s = f->now_s;
}

/* What came in the first n slots. */
static void take_messages(ud_forward *f, int32_t n)
{
    int32_t i;

    for (i = 0; i < n; i++) {
        if (f->flows_most || f->keyed) f->who[i] = ud_sender_of(&f->in_name[i]);
        if (f->flows_most) f->bucket[i] = ud_flows_bucket(&f->flows, &f->who[i]);
    }
    for (i = 0; i < n && f->flows_most; i++) ud_flows_expect(&f->flows, f->bucket[i]);
    for (i = 0; i < n; i++) take_message(f, i);
}

/* A round. Answers whether more may wait. */
static bool take_datagrams(ud_forward *f)
{
    int32_t n, taken = 0;

    do {
        f->slots = 0;
        n = receive(f, f->listen, BATCH);
        if (n == 0) break;
        ud_add(&f->board->batches, 1);
        take_messages(f, n);
        taken += n;
    } while (n == BATCH && taken < f->depth && box_keep(&f->box));
    flush(f, false);
    if (n == BATCH) f->depth = 4 * f->depth < DEPTH ? 4 * f->depth : DEPTH;
    else if (taken < f->depth / 2 && f->depth > BATCH) f->depth /= 2;
    return n == BATCH;
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

static void client_answers(ud_forward *f, ud_flow *w, int32_t client)
{
    ud_seat *s = &f->board->seat[client];
    double started_s;

    ud_add(&s->replies, 1);
    ud_store(&s->answered_us, f->now_us);
    if (ud_load(&s->unanswered_us)) ud_store(&s->unanswered_us, 0);
    if (f->by_flow) flow_answered(f, w, client);
    else if (ud_flights_take(&f->flights, w->serial, client, &started_s)) {
        rllb_balancer_done(f->worker, client, started_s, f->now_s, RLLB_OUTCOME_OK);
    }
}

static void take_reply(ud_forward *f, int32_t flow, int32_t slot)
{
    ud_flow *w = &f->flows.flow[flow];
    int32_t client = w->used ? client_at(f, &f->in_name[slot]) : -1, segment = segment_of(f, slot, NULL);
    int32_t whole = (int32_t)f->in[slot].msg_len, at = 0, size;

    do {
        size = segment && whole - at > segment ? segment : whole - at;
        if (client < 0) {
            ud_add(&f->board->strangers, 1);
        } else {
            client_answers(f, w, client);
            box_put(&f->box, f->flows_most, flow, f->bytes + (size_t)slot * SLOT + at, size);
            if (f->box.items == ITEMS) flush(f, true);
        }
        at += size;
    } while (at < whole);
}

static void take_replies(ud_forward *f, int32_t flow, int32_t most)
{
    int32_t i, n, wanted;

    do {
        if (f->slots == BATCH) {
            if (!box_keep(&f->box)) flush(f, true);
            f->slots = 0;
        }
        wanted = most < BATCH - f->slots ? most : BATCH - f->slots;
        n = receive(f, f->socket[flow], wanted);
        for (i = f->slots; i < f->slots + n; i++) take_reply(f, flow, i);
        f->slots += n;
        most -= n;
    } while (n == wanted && most > 0);
}

/* ---- between rounds --------------------------------------------------------------------------------------------- */

static void end_flights(ud_forward *f)
{
    rllb_outcome outcome = f->replies ? RLLB_OUTCOME_CANCELLED : RLLB_OUTCOME_OK;
    double started_s;
    int32_t client;

    while (ud_flights_expire(&f->flights, f->now_s - f->window_s, &client, &started_s)) {
        rllb_balancer_done(f->worker, client, started_s, f->now_s, outcome);
    }
}

/* Silent senders whose client is gone leave it, or it could never be tried again; and those that nobody answers by
   design tell that nobody refused. */
static void look_at_flow(ud_forward *f, ud_flow *w)
{
    if (w->client < 0) return;
    if (!flow_stays(f, w)) {
        flow_leaves(f, w, RLLB_OUTCOME_CANCELLED);
        ud_add(&f->board->flows_moved, 1);
    } else if (!f->replies && f->now_s >= w->proof_s && f->now_s - w->last_s < f->window_s + PROOF_S) {
        if (f->now_s - f->target[w->client].refused_s > f->window_s) flow_proves(f, w, f->window_s);
    }
}

static void scan_flows(ud_forward *f)
{
    int32_t i, most = SCAN_MOST, due = (int32_t)((f->now_s - f->scanned_s) / ROUND_S * (double)f->flows_most);

    if (due < 1) return;
    f->scanned_s = f->now_s;
    if (due > f->flows_most) due = f->flows_most;
    for (i = 0; f->by_flow && i < (due < most ? due : most); i++) {
        int32_t flow = ud_flows_next(&f->flows);
        if (flow >= 0) look_at_flow(f, &f->flows.flow[flow]);
    }
}

static void forget_silent(ud_forward *f)
{
    int32_t i, oldest;

    for (i = 0; i < FORGET_MOST && (oldest = ud_flows_oldest(&f->flows)) >= 0; i++) {
        if (f->now_s - f->flows.flow[oldest].last_s <= f->idle_s) break;
        forget_flow(f, oldest);
    }
    if (i) ud_store(&f->board->flows_open, (uint64_t)f->flows.count);
}

static void look_around(ud_forward *f)
{
    if (ud_load_word(&f->board->turn) != f->turn) read_places(f);
    if (!f->by_flow) end_flights(f);
    if (!f->flows_most) return;
    scan_flows(f);
    forget_silent(f);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static void read_clock(ud_forward *f)
{
    f->now_s = ex_clock_s();
    f->now_us = (uint64_t)(1e6 * f->now_s);
}

/* In milliseconds. */
static int patience(const ud_forward *f)
{
    double s = f->flights.count > 0 && f->window_s / 8 < WAIT_S ? f->window_s / 8 : WAIT_S;

    return s < 0.001 ? 1 : (int)(1e3 * s);
}

/* Answers whether datagrams wait at the port. */
static bool serve(ud_forward *f, const struct epoll_event *events, int32_t n)
{
    int32_t i, share = n > 0 && f->depth / n > SHARE ? f->depth / n : SHARE;
    bool datagrams = false;

    f->slots = 0;
    for (i = 0; i < n; i++) {
        int32_t out = (int32_t)events[i].data.u32;
        if (out > f->flows_most) {
            read_errors(f, f->shared, -1);
        } else if (out == f->flows_most) {
            datagrams = true;
        } else {
            if (events[i].events & EPOLLERR) read_errors(f, f->socket[out], out);
            if (events[i].events & EPOLLIN) take_replies(f, out, share);
        }
    }
    flush(f, true);
    return datagrams;
}

void ud_forward_run(ud_forward *f)
{
    struct epoll_event events[EVENTS];
    bool more = false, busy = false;

    while (!ud_load_word(&f->board->stop)) {
        int n = epoll_wait(f->poll, events, f->depth / 2, more || busy ? 0 : patience(f));
        read_clock(f);
        if (n > 0 || more) f->heard_s = f->now_s;
        busy = f->now_s - f->heard_s < f->busy_s;
        look_around(f);
        if (serve(f, events, n) || more) more = take_datagrams(f);
    }
}

/* ---- beginning and end ------------------------------------------------------------------------------------------ */

static uint64_t make_secret(void)
{
    uint64_t secret = 0;
    FILE *file = fopen("/dev/urandom", "rb");

    if (file) {
        if (fread(&secret, sizeof secret, 1, file) != 1) secret = 0;
        fclose(file);
    }
    return secret ? secret : (uint64_t)(1e9 * ex_clock_s()) * 0x9e3779b97f4a7c15u + (uint64_t)getpid();
}

/* As many as wanted, or all that there may be. */
static rlim_t raise_files(rlim_t wanted)
{
    struct rlimit limit, more;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return wanted;
    more.rlim_cur = wanted;
    more.rlim_max = limit.rlim_max < wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) return wanted;
    more.rlim_cur = more.rlim_max = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &more) == 0 ? more.rlim_cur : limit.rlim_cur;
}

/* A socket for each sender: as many as files may be open, and ports there are. */
static void fit_flows(ud_forward *f)
{
    int32_t most = f->flows_most < PORTS_MOST ? f->flows_most : PORTS_MOST;
    rlim_t files = raise_files((rlim_t)most + FILES_BESIDES);

    if (files < (rlim_t)most + FILES_BESIDES) {
        most = files > FILES_BESIDES ? (int32_t)(files - FILES_BESIDES) : 1;
        ex_warn("at most %d senders at once, since %d files may be open (see `ulimit -n`)", (int)most, (int)files);
    } else if (most < f->flows_most) {
        ex_warn("at most %d senders at once: each takes a port of its own for its replies", (int)most);
    }
    f->flows_most = most;
}

static void widen(int fd, int size)
{
#if defined(SO_RCVBUFFORCE) && defined(SO_SNDBUFFORCE)
    int forced = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0 && forced == 0) return;
#endif
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* Sends to clients; hears what the network says of that. */
static int open_sender(ud_forward *f, uint32_t number, bool hears)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, off = 0;
    struct epoll_event e = { .events = hears ? EPOLLIN : 0, .data = { .u32 = number } };

    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    if (hears) {
        setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
        widen(fd, REPLY_BUFFER);
    }
    if (epoll_ctl(f->poll, EPOLL_CTL_ADD, fd, &e) == 0) return fd;
    close(fd);
    return -1;
}

/* What sends without replies: the kernel throws away what comes there. */
static bool open_shared(ud_forward *f)
{
    struct sock_filter nothing = { BPF_RET | BPF_K, 0, 0, 0 };
    struct sock_fprog program = { 1, &nothing };

    f->shared = open_sender(f, (uint32_t)f->flows_most + 1, false);
    if (f->shared < 0) {
        ex_fail("no socket: %s", strerror(errno));
        return false;
    }
    setsockopt(f->shared, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    widen(f->shared, BUFFER);
    return true;
}

static bool open_flows(ud_forward *f)
{
    int32_t i;

    f->socket = malloc((size_t)f->flows_most * sizeof *f->socket);
    if (!f->socket) {
        ex_fail("out of memory");
        return false;
    }
    memset(f->socket, 0xff, (size_t)f->flows_most * sizeof *f->socket);
    for (i = 0; i < f->flows_most; i++) {
        f->socket[i] = open_sender(f, (uint32_t)i, true);
        if (f->socket[i] >= 0) continue;
        if (i == 0) {
            ex_fail("no socket for a sender: %s", strerror(errno));
            return false;
        }
        ex_warn("at most %d senders at once: no more sockets: %s", (int)i, strerror(errno));
        f->flows_most = i;
    }
    return true;
}

static bool open_listener(ud_forward *f, const ud_config *c)
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in6 address = c->listen;
    struct epoll_event e = { .events = EPOLLIN, .data = { .u32 = (uint32_t)f->flows_most } };
    static const unsigned char mapped_any[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0 };
    socklen_t size = sizeof address;
    int on = 1, off = 0;
    bool ok;

    f->any = IN6_IS_ADDR_UNSPECIFIED(&address.sin6_addr) || memcmp(&address.sin6_addr, mapped_any, 16) == 0;
    f->listen = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ok = f->listen >= 0 && setsockopt(f->listen, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
    ok = ok && bind(f->listen, (const struct sockaddr *)&address, sizeof address) == 0;
    ok = ok && getsockname(f->listen, (struct sockaddr *)&address, &size) == 0;
    ok = ok && epoll_ctl(f->poll, EPOLL_CTL_ADD, f->listen, &e) == 0;
    if (!ok) {
        int error = errno;
        inet_ntop(AF_INET6, &c->listen.sin6_addr, host, sizeof host);
        ex_fail("listen: [%s]:%d: %s", host, (int)ntohs(c->listen.sin6_port), strerror(error));
        return false;
    }
    f->port = ntohs(address.sin6_port);
    if (f->any && f->replies) setsockopt(f->listen, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    setsockopt(f->listen, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    f->segment_most = setsockopt(f->listen, IPPROTO_UDP, UDP_SEGMENT, &off, sizeof off) == 0 ? UINT16_MAX : 0;
    widen(f->listen, BUFFER);
    return true;
}

static bool make_tables(ud_forward *f)
{
    bool ok = true;
    int32_t i;

    f->bytes = malloc((size_t)BATCH * SLOT);
    f->box.store = malloc(STORE);
    f->box.outlet = calloc((size_t)f->flows_most + 1, sizeof *f->box.outlet);
    f->box.receiver = calloc((size_t)f->flows_most + UD_CLIENTS_MOST, sizeof *f->box.receiver);
    f->box.shared = f->flows_most;
    f->back = calloc((size_t)f->flows_most + 1, sizeof *f->back);
    if (f->flows_most) ok = ud_flows_create(&f->flows, f->flows_most, make_secret(), f->seed);
    if (!f->by_flow) ok = ok && ud_flights_create(&f->flights, FLIGHTS);
    if (!ok || !f->bytes || !f->box.store || !f->box.outlet || !f->box.receiver || !f->back) {
        ex_fail("out of memory");
        return false;
    }
    for (i = 0; i < BATCH; i++) slot_make(f, i);
    box_clear(&f->box);
    return true;
}

static bool is_keyed(const char *policy)
{
    return strstr(policy, "cmp") || strncmp(policy, "maglev", 6) == 0; /* ecmp, wcmp, awcmp */
}

bool ud_forward_create(const ud_config *c, rllb_balancer *worker, ud_board *board, ud_forward **out)
{
    ud_forward *f = calloc(1, sizeof *f);

    if (!f) {
        ex_fail("out of memory");
        return false;
    }
    f->listen = f->shared = f->poll = -1;
    f->by_flow = c->sticky == UD_STICKY_FLOW;
    f->replies = c->replies;
    f->flows_most = f->by_flow || f->replies ? c->flows : 0;
    f->idle_s = c->idle_s;
    f->window_s = c->window_s;
    f->busy_s = 1e-6 * c->busy_us;
    f->depth = BATCH;
    f->seed = c->seed * 2 + 1;
    f->keyed = is_keyed(c->policy) || is_keyed(c->fallback);
    f->worker = worker;
    f->board = board;
    if (f->replies) fit_flows(f);
    f->poll = epoll_create1(EPOLL_CLOEXEC);
    if (f->poll < 0) ex_fail("no epoll: %s", strerror(errno));
    if (f->poll < 0 || !(f->replies ? open_flows(f) : true) || !open_listener(f, c) ||
        !(f->replies ? true : open_shared(f)) || !make_tables(f)) {
        ud_forward_destroy(f);
        return false;
    }
    read_clock(f);
    f->scanned_s = f->heard_s = f->now_s;
    read_places(f);
    *out = f;
    return true;
}

void ud_forward_destroy(ud_forward *f)
{
    int32_t i;

    if (!f) return;
    for (i = 0; f->socket && i < f->flows_most; i++) {
        if (f->socket[i] >= 0) close(f->socket[i]);
    }
    if (f->listen >= 0) close(f->listen);
    if (f->shared >= 0) close(f->shared);
    if (f->poll >= 0) close(f->poll);
    ud_flows_destroy(&f->flows);
    ud_flights_destroy(&f->flights);
    free(f->socket);
    free(f->back);
    free(f->box.outlet);
    free(f->box.receiver);
    free(f->box.store);
    free(f->bytes);
    free(f);
}

int32_t ud_forward_port(const ud_forward *f)
{
    return f->port;
}
