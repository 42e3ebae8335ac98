/* flows.c - who sends: a bounded table of senders, each with its client; and what is on its way to clients

   Senders lie in an array, chained from buckets by a keyed hash, and in a list by how long they have been silent. A
   datagram of a known sender costs one look into its bucket; the list is put in order at most ten times a second and
   sender. What is on its way lies in a ring in the order of time; those of one owner at one client are a queue whose
   first is chained from a bucket. Only firsts are ever taken out: by a reply, by a failure, or because their time is
   over, and the oldest of all is always the first of its queue. */

#include "flows.h"

#include <stdlib.h>
#include <string.h>

#define ORDER_S 0.1

/* ---- addresses -------------------------------------------------------------------------------------------------- */

ud_sender ud_sender_of(const struct sockaddr_in6 *address)
{
    ud_sender out;

    memcpy(&out.high, &address->sin6_addr, sizeof out.high);
    memcpy(&out.low, (const unsigned char *)&address->sin6_addr + sizeof out.high, sizeof out.low);
    out.port = (uint64_t)address->sin6_scope_id << 16 | address->sin6_port;
    return out;
}

/* Rounds of multiplying and folding: each bit of the address reaches all of the answer. */
static uint64_t fold(uint64_t x, uint64_t factor)
{
    x *= factor;
    return x ^ x >> 32;
}

uint64_t ud_sender_hash(const ud_sender *who, uint64_t seed)
{
    uint64_t x = fold(who->high ^ seed, 0x9fb21c651e98df25u);

    x = fold(x ^ who->low, 0xd6e8feb86659fd93u);
    x = fold(x ^ who->port ^ seed >> 29, 0xa0761d6478bd642fu);
    return x ? x : 1;
}

/* ---- senders ---------------------------------------------------------------------------------------------------- */

static uint32_t power_of_two(int32_t least)
{
    uint32_t n = 16;

    while (n < (uint32_t)least) n *= 2;
    return n;
}

static int32_t *buckets(uint32_t count)
{
    int32_t *bucket = malloc(count * sizeof *bucket);

    if (bucket) memset(bucket, 0xff, count * sizeof *bucket); /* -1 everywhere */
    return bucket;
}

/* From the start of a cache line on. */
static ud_flow *rows(int32_t most)
{
    void *flow = NULL;

    if (posix_memalign(&flow, 64, (size_t)most * sizeof(ud_flow)) != 0) return NULL;
    return memset(flow, 0, (size_t)most * sizeof(ud_flow));
}

bool ud_flows_create(ud_flows *t, int32_t most, uint64_t secret, uint64_t seed)
{
    uint32_t count = power_of_two(4 * most);
    int32_t i;

    memset(t, 0, sizeof *t);
    t->flow = rows(most);
    t->bucket = buckets(count);
    if (!t->flow || !t->bucket) {
        ud_flows_destroy(t);
        return false;
    }
    t->secret = secret;
    t->seed = seed;
    t->mask = count - 1;
    t->most = most;
    t->oldest = t->newest = -1;
    for (i = 0; i < most; i++) t->flow[i].chain = i + 1 < most ? i + 1 : -1;
    return true;
}

void ud_flows_destroy(ud_flows *t)
{
    free(t->flow);
    free(t->bucket);
    memset(t, 0, sizeof *t);
}

uint32_t ud_flows_bucket(const ud_flows *t, const ud_sender *who)
{
    uint32_t bucket = (uint32_t)ud_sender_hash(who, t->secret) & t->mask;

    __builtin_prefetch(&t->bucket[bucket]);
    return bucket;
}

void ud_flows_expect(const ud_flows *t, uint32_t bucket)
{
    int32_t i = t->bucket[bucket];

    if (i >= 0) __builtin_prefetch(&t->flow[i]);
}

static void leave_order(ud_flows *t, const ud_flow *f)
{
    if (f->older >= 0) t->flow[f->older].newer = f->newer;
    else t->oldest = f->newer;
    if (f->newer >= 0) t->flow[f->newer].older = f->older;
    else t->newest = f->older;
}

static void join_order(ud_flows *t, int32_t i, double now_s)
{
    ud_flow *f = &t->flow[i];

    f->older = t->newest;
    f->newer = -1;
    if (t->newest >= 0) t->flow[t->newest].newer = i;
    else t->oldest = i;
    t->newest = i;
    f->ordered_s = now_s;
}

int32_t ud_flows_find(ud_flows *t, const ud_sender *who, uint32_t bucket, double now_s)
{
    int32_t i = t->bucket[bucket];
    ud_flow *f;

    while (i >= 0 && !ud_sender_is(&t->flow[i].who, who)) i = t->flow[i].chain;
    if (i < 0) return -1;
    f = &t->flow[i];
    f->last_s = now_s;
    if (now_s - f->ordered_s >= ORDER_S) {
        leave_order(t, f);
        join_order(t, i, now_s);
    }
    return i;
}

int32_t ud_flows_add(ud_flows *t, const ud_sender *who, uint32_t bucket, double now_s)
{
    int32_t i = t->free;
    ud_flow *f;

    if (i < 0) return -1;
    f = &t->flow[i];
    t->free = f->chain;
    memset(f, 0, sizeof *f);
    f->who = *who;
    f->key = ud_sender_hash(who, t->seed);
    f->last_s = now_s;
    if (++t->serial == 0) t->serial = 1;
    f->serial = t->serial;
    f->client = -1;
    f->used = true;
    f->bucket = bucket;
    f->chain = t->bucket[bucket];
    t->bucket[bucket] = i;
    join_order(t, i, now_s);
    t->count++;
    return i;
}

void ud_flows_forget(ud_flows *t, int32_t flow)
{
    ud_flow *f = &t->flow[flow];
    int32_t *link = &t->bucket[f->bucket];

    while (*link != flow) link = &t->flow[*link].chain;
    *link = f->chain;
    leave_order(t, f);
    f->used = false;
    f->chain = t->free;
    t->free = flow;
    t->count--;
}

int32_t ud_flows_oldest(const ud_flows *t)
{
    return t->oldest;
}

int32_t ud_flows_next(ud_flows *t)
{
    int32_t i = t->hand;

    t->hand = i + 1 < t->most ? i + 1 : 0;
    return t->flow[i].used ? i : -1;
}

/* ---- datagrams on their way ------------------------------------------------------------------------------------- */

bool ud_flights_create(ud_flights *t, int32_t most)
{
    memset(t, 0, sizeof *t);
    t->flight = calloc((size_t)most, sizeof *t->flight);
    t->bucket = buckets((uint32_t)most / 8);
    t->mask = (uint32_t)most - 1;
    memset(t->first, 0xff, sizeof t->first);
    if (t->flight && t->bucket) return true;
    ud_flights_destroy(t);
    return false;
}

void ud_flights_destroy(ud_flights *t)
{
    free(t->flight);
    free(t->bucket);
    memset(t, 0, sizeof *t);
}

/* Where the index of the first of this queue is written, or would be: then what is there is -1. */
static int32_t *first_of(ud_flights *t, uint32_t owner, int32_t client)
{
    uint32_t hash = (owner * 0x9e3779b1u ^ (uint32_t)client * 0x85ebca6bu) * 0xc2b2ae35u;
    int32_t *link = &t->bucket[(hash ^ hash >> 15) & t->mask >> 3];

    if (owner == 0) return &t->first[client];
    while (*link >= 0 && (t->flight[*link].owner != owner || t->flight[*link].client != client)) {
        link = &t->flight[*link].chain;
    }
    return link;
}

bool ud_flights_add(ud_flights *t, uint32_t owner, int32_t client, double now_s)
{
    int32_t at = (int32_t)(t->tail & t->mask), *link;
    ud_flight *f = &t->flight[at];

    if (t->tail - t->head > t->mask) return false;
    t->tail++;
    t->count++;
    link = first_of(t, owner, client);
    f->started_s = now_s;
    f->owner = owner;
    f->client = client;
    f->next = f->chain = -1;
    f->last = at;
    if (*link < 0) {
        *link = at;
    } else {
        int32_t *last = owner ? &t->flight[*link].last : &t->last[client];
        t->flight[*last].next = at;
        *last = at;
    }
    if (owner == 0) t->last[client] = at;
    return true;
}

static void take_first(ud_flights *t, int32_t *link)
{
    ud_flight *f = &t->flight[*link];

    if (f->owner == 0) {
        *link = f->next;
    } else if (f->next >= 0) {
        t->flight[f->next].last = f->last;
        t->flight[f->next].chain = f->chain;
        *link = f->next;
    } else {
        *link = f->chain;
    }
    f->client = -1;
    t->count--;
    while (t->head != t->tail && t->flight[t->head & t->mask].client < 0) t->head++;
}

bool ud_flights_take(ud_flights *t, uint32_t owner, int32_t client, double *started_s)
{
    int32_t *link = first_of(t, owner, client);

    if (*link < 0) return false;
    *started_s = t->flight[*link].started_s;
    take_first(t, link);
    return true;
}

bool ud_flights_expire(ud_flights *t, double before_s, int32_t *client, double *started_s)
{
    const ud_flight *f = &t->flight[t->head & t->mask];

    if (t->head == t->tail || f->started_s > before_s) return false;
    *client = f->client;
    *started_s = f->started_s;
    take_first(t, first_of(t, f->owner, f->client));
    return true;
}
