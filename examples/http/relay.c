/* relay.c - see relay.h */

#include "relay.h"

#include "options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SWEEP_MS = 100, PARTS_MOST = 64, WRITES_MOST = 4 };

/* AddressSanitizer sees no misuse of what is never freed. */
#ifdef RLLB_I_ASAN
#define STORE_KEEPS false
#else
#define STORE_KEEPS true
#endif

/* ---- stores ------------------------------------------------------------------------------------------------- */

void *px_take(px_store *s, size_t clear)
{
    void *thing = s->first;

    if (thing) {
        memcpy(&s->first, thing, sizeof s->first);
    } else if ((thing = malloc(s->size)) == NULL) {
        ex_fail("out of memory");
        exit(EX_FAILED);
    }
    memset(thing, 0, clear);
    return thing;
}

void px_give(px_store *s, void *thing)
{
    if (!STORE_KEEPS) {
        free(thing);
        return;
    }
    memcpy(thing, &s->first, sizeof s->first);
    s->first = thing;
}

static void store_free(px_store *s)
{
    while (s->first) {
        void *thing = s->first;
        memcpy(&s->first, thing, sizeof s->first);
        free(thing);
    }
}

/* ---- chains ------------------------------------------------------------------------------------------------- */

static size_t room_in(const px_block *b)
{
    return b ? sizeof b->bytes - (size_t)b->to : 0;
}

static void link_block(px_chain *c, px_block *b)
{
    b->next = NULL;
    if (c->last) c->last->next = b;
    else c->first = b;
    c->last = b;
}

void px_chain_add(px_relay *r, px_chain *c, const char *bytes, size_t size)
{
    c->size += size;
    while (size > 0) {
        size_t room = room_in(c->last);
        if (room == 0) {
            link_block(c, px_take(&r->blocks, offsetof(px_block, bytes)));
            room = room_in(c->last);
        }
        if (room > size) room = size;
        memcpy(c->last->bytes + c->last->to, bytes, room);
        c->last->to += (int32_t)room;
        bytes += room;
        size -= room;
    }
}

void px_chain_drop(px_relay *r, px_chain *c, size_t size)
{
    c->size -= size;
    while (size > 0) {
        px_block *b = c->first;
        size_t has = (size_t)(b->to - b->from);
        if (has > size) {
            b->from += (int32_t)size;
            return;
        }
        size -= has;
        c->first = b->next;
        if (!c->first) c->last = NULL;
        px_give(&r->blocks, b);
    }
}

/* Blocks move; a small one is copied, lest many of them hold next to nothing. */
static void chain_move(px_relay *r, px_chain *to, px_chain *from)
{
    while (from->first) {
        px_block *b = from->first;
        size_t has = (size_t)(b->to - b->from);
        if (has <= room_in(to->last)) {
            px_chain_add(r, to, b->bytes + b->from, has);
            px_chain_drop(r, from, has);
            continue;
        }
        from->first = b->next;
        from->size -= has;
        link_block(to, b);
        to->size += has;
    }
    from->last = NULL;
}

static void chain_copy(px_relay *r, px_chain *to, const px_chain *from, size_t skip)
{
    const px_block *b;

    for (b = from->first; b; b = b->next) {
        size_t has = (size_t)(b->to - b->from);
        if (skip < has) px_chain_add(r, to, b->bytes + b->from + skip, has - skip);
        skip = skip < has ? 0 : skip - has;
    }
}

/* ---- deadlines ---------------------------------------------------------------------------------------------- */

static double patience_s(const px_config *c, px_wait wait)
{
    switch (wait) {
    case PX_WAIT_HEAD: return c->head_s;
    case PX_WAIT_CONNECT: return c->connect_s;
    case PX_WAIT_RESPONSE: return c->response_s;
    case PX_WAIT_PARTING: return c->drain_s < 2 ? c->drain_s / 2 : 1;
    default: return c->idle_s;
    }
}

void px_due_none(px_due *d)
{
    if (!d->next) return;
    d->next->before = d->before;
    d->before->next = d->next;
    d->next = d->before = NULL;
}

void px_due_set(px_relay *r, px_due *d, px_wait wait)
{
    px_due *ring = &r->waiting[wait];

    px_due_none(d);
    d->at_ms = uv_now(r->proxy->loop) + (uint64_t)(1e3 * patience_s(&r->proxy->config, wait));
    d->next = ring;
    d->before = ring->before;
    ring->before->next = d;
    ring->before = d;
}

/* What is due had to be so the last time too: between the two the loop has read what was there. So what came in time
   counts, even if this process did not run for a while. */
static void sweep(uv_timer_t *timer)
{
    px_relay *r = timer->data;
    uint64_t due_ms = r->swept_ms;
    int32_t i;

    r->swept_ms = uv_now(r->proxy->loop);
    r->now_s = px_now_s();
    for (i = 0; i < PX_WAITS; i++) {
        px_due *ring = &r->waiting[i];
        while (ring->next != ring && ring->next->at_ms <= due_ms) {
            px_due *d = ring->next;
            px_due_none(d);
            d->late(d->self);
        }
    }
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static void write_on(px_out *o);

static void wrote(uv_write_t *request, int status)
{
    px_out *o = request->data;
    size_t taken = o->flying;

    if (!o->writing) return; /* the connection is being closed */
    o->writing = false;
    o->relay->now_s = px_now_s();
    if (status < 0) {
        px_chain_clear(o->relay, &o->left);
    } else {
        px_chain_drop(o->relay, &o->left, taken);
        write_on(o);
    }
    o->progress(o->self, status);
}

/* libuv keeps up to four parts without asking for memory. */
static void write_on(px_out *o)
{
    uv_buf_t parts[WRITES_MOST];
    unsigned count = 0;
    px_block *b;

    if (o->writing || o->left.size == 0) return;
    o->flying = 0;
    for (b = o->left.first; b && count < WRITES_MOST; b = b->next) {
        parts[count++] = uv_buf_init(b->bytes + b->from, (unsigned)(b->to - b->from));
        o->flying += (size_t)(b->to - b->from);
    }
    o->writing = true;
    o->write.data = o;
    if (uv_write(&o->write, o->stream, parts, count, wrote) < 0) o->writing = false; /* a deadline sees to it */
}

static int try_parts(px_out *o, const px_parts *p, size_t *taken)
{
    uv_buf_t parts[PARTS_MOST + 2];
    unsigned count = 0;
    px_block *b = p->chain ? p->chain->first : NULL;
    int status;

    if (p->head_size) parts[count++] = uv_buf_init(p->head, (unsigned)p->head_size);
    for (; b && count <= PARTS_MOST; b = b->next) {
        parts[count++] = uv_buf_init(b->bytes + b->from, (unsigned)(b->to - b->from));
    }
    if (!b && p->tail_size) parts[count++] = uv_buf_init(p->tail, (unsigned)p->tail_size);
    if (count == 0) return 0;
    status = uv_try_write(o->stream, parts, count);
    *taken = status > 0 ? (size_t)status : 0;
    return status == UV_EAGAIN || status >= 0 ? 0 : status;
}

/* What is left of the parts after the first `taken` bytes. */
static void queue_rest(px_out *o, const px_parts *p, size_t taken)
{
    size_t skip = taken < p->head_size ? taken : p->head_size;

    px_chain_add(o->relay, &o->left, p->head + skip, p->head_size - skip);
    taken -= skip;
    if (p->chain) {
        skip = taken < p->chain->size ? taken : p->chain->size;
        taken -= skip;
        if (p->keep) {
            chain_copy(o->relay, &o->left, p->chain, skip);
        } else {
            px_chain_drop(o->relay, p->chain, skip);
            chain_move(o->relay, &o->left, p->chain);
        }
    }
    px_chain_add(o->relay, &o->left, p->tail + taken, p->tail_size - taken);
    write_on(o);
}

void px_parts_chunk(px_parts *p, bool last)
{
    static char ends[] = "\r\n0\r\n\r\n"; /* of this chunk, of all chunks */

    if (p->chain->size) p->head_size += (size_t)px_chunk_write(p->chain->size, p->head + p->head_size);
    p->tail = p->chain->size ? ends : ends + 2;
    p->tail_size = last ? strlen(p->tail) : p->chain->size ? 2 : 0;
}

int px_out_send(px_out *o, const px_parts *parts)
{
    size_t all = parts->head_size + (parts->chain ? parts->chain->size : 0) + parts->tail_size, taken = 0;
    int status;

    if (o->left.size == 0) {
        status = try_parts(o, parts, &taken);
        if (status < 0) return status;
    }
    if (taken < all) queue_rest(o, parts, taken);
    else if (parts->chain && !parts->keep) px_chain_clear(o->relay, parts->chain);
    return 0;
}

void px_out_open(px_out *o, px_relay *r, uv_stream_t *stream, void (*progress)(void *self, int status), void *self)
{
    o->relay = r;
    o->stream = stream;
    o->progress = progress;
    o->self = self;
}

void px_out_clear(px_out *o)
{
    o->writing = false;
    px_chain_clear(o->relay, &o->left);
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

void px_relay_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    px_relay *r = handle->loop->data;

    (void)suggested;
    *out = uv_buf_init(r->read, sizeof r->read);
}

px_relay *px_relay_create(px_proxy *proxy)
{
    px_relay *r = calloc(1, sizeof *r);
    int32_t i;

    if (!r) {
        ex_fail("out of memory");
        return NULL;
    }
    r->proxy = proxy;
    for (i = 0; i < PX_WAITS; i++) r->waiting[i].next = r->waiting[i].before = &r->waiting[i];
    r->exchanges.size = sizeof(px_exchange);
    r->blocks.size = sizeof(px_block);
    r->now_s = px_now_s();
    proxy->loop->data = r;
    uv_timer_init(proxy->loop, &r->sweep);
    r->sweep.data = r;
    uv_timer_start(&r->sweep, sweep, SWEEP_MS, SWEEP_MS);
    return r;
}

void px_relay_close(px_relay *r)
{
    uv_close((uv_handle_t *)&r->sweep, NULL);
}

void px_relay_destroy(px_relay *r)
{
    if (!r) return;
    store_free(&r->exchanges);
    store_free(&r->clients);
    store_free(&r->links);
    store_free(&r->blocks);
    free(r);
}
