/* flows.h - who sends, and what is on its way: the tables of the data thread, for forward.c

   Both are made once and never grow. Times are what the caller says. */

#ifndef UD_FLOWS_H
#define UD_FLOWS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- senders -------------------------------------------------------------------------------------------------- */

/* An address as words, to be compared and hashed. */
typedef struct ud_sender {
    uint64_t high, low;
    uint64_t port; /* and the scope of a link-local address above it */
} ud_sender;

ud_sender ud_sender_of(const struct sockaddr_in6 *address);
/* Never 0. The same seed gives the same number in every run. */
uint64_t ud_sender_hash(const ud_sender *who, uint64_t seed);

static inline bool ud_sender_is(const ud_sender *a, const ud_sender *b)
{
    return a->high == b->high && a->low == b->low && a->port == b->port;
}

typedef struct ud_flow {
    /* A cache line: what each datagram touches. */
    ud_sender who;
    int32_t chain;
    int32_t client;       /* -1: none */
    double last_s;        /* the latest datagram */
    double ordered_s;     /* when its place in the order of idleness was true */
    double asked_s;       /* the first datagram without a reply; 0: all have theirs */
    uint32_t serial;      /* no other flow has had it for long; never 0 */
    uint32_t bucket;
    /* And another one. */
    uint64_t key;         /* what policies hash: the same after a restart */
    double proof_s;       /* from then on its client may be told to do well */
    double held_s;        /* until then it stays, whatever is said of its client */
    int32_t older, newer;
    bool used;
    unsigned char spare[64 - 33];
} ud_flow;

typedef struct ud_flows {
    ud_flow *flow;
    int32_t *bucket;
    uint64_t secret, seed;
    uint32_t mask, serial;
    int32_t most, count;
    int32_t oldest, newest, free; /* free ones are chained */
    int32_t hand;                 /* of the scan */
} ud_flows;

/* secret: nobody who sends may know it, or many senders could be made that hash alike. seed: of the keys. */
bool ud_flows_create(ud_flows *t, int32_t most, uint64_t secret, uint64_t seed);
void ud_flows_destroy(ud_flows *t);
/* Where to look for a sender: asked for a whole batch first, so that memory is there when it is needed. */
uint32_t ud_flows_bucket(const ud_flows *t, const ud_sender *who);
void ud_flows_expect(const ud_flows *t, uint32_t bucket);
/* Who sends, heard of now; -1: nobody known. */
int32_t ud_flows_find(ud_flows *t, const ud_sender *who, uint32_t bucket, double now_s);
/* One that ud_flows_find did not find; -1: there is no room. */
int32_t ud_flows_add(ud_flows *t, const ud_sender *who, uint32_t bucket, double now_s);
void ud_flows_forget(ud_flows *t, int32_t flow);
/* The longest idle one, give or take a tenth of a second; -1: there is none. */
int32_t ud_flows_oldest(const ud_flows *t);
/* All of them in turn, `most` calls a round; -1: nobody is at this place. */
int32_t ud_flows_next(ud_flows *t);

/* ---- datagrams on their way ----------------------------------------------------------------------------------- */

/* What was sent and counts at its client until a reply or time ends it. Those of one owner at one client end in the
   order they began. */
typedef struct ud_flight {
    double started_s;
    uint32_t owner;
    int32_t client;            /* -1: ended */
    int32_t next, last, chain; /* next of the same owner and client; of the first of them: the last, the next first */
} ud_flight;

enum { UD_FLIGHTS_CLIENTS = 256 }; /* indices of clients are below */

typedef struct ud_flights {
    ud_flight *flight; /* a ring in the order of time */
    int32_t *bucket;
    int32_t first[UD_FLIGHTS_CLIENTS], last[UD_FLIGHTS_CLIENTS]; /* the queues of owner 0, for whom nothing is hashed */
    uint32_t mask, head, tail;
    int32_t count;
} ud_flights;

bool ud_flights_create(ud_flights *t, int32_t most); /* a power of two, 16 at least */
void ud_flights_destroy(ud_flights *t);
/* False: the ring is full, end the oldest first. */
bool ud_flights_add(ud_flights *t, uint32_t owner, int32_t client, double now_s);
/* Takes out the first of this owner at this client. */
bool ud_flights_take(ud_flights *t, uint32_t owner, int32_t client, double *started_s);
/* Takes out the first of all, if it began before then. */
bool ud_flights_expire(ud_flights *t, double before_s, int32_t *client, double *started_s);

#endif
