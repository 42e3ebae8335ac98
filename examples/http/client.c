/* client.c - clients' connections

   A connection is idle, or has one exchange. Requests that come before the answer to the one before is out (pipelining)
   wait as bytes, and beyond some of them the client is not read. The reader stays on while a server is asked: that is
   how a client that went away is seen. A client that closes its side for writing counts as gone, as with nginx: what it
   asked for is given up.

   After an answer of our own to a request that was not taken in whole the connection is closed in two steps: our side
   first, then, once the client closed or a second passed, all of it. Closed at once, what the client still sends would
   make the kernel throw the answer away. So it is read and dropped, up to a mebibyte. */

#include "options.h"
#include "relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD_MOST = 16384, PARTING_MOST = 1 << 20, ADDRESS_BYTES = 48 };

struct px_client {
    void *next_free;
    px_clients *all;
    px_client *next, *before;
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    px_exchange *exchange; /* NULL: idle */
    px_out out;
    px_chain ahead;        /* came and is not looked at yet */
    px_due due;
    size_t dropped;        /* came while parting */
    bool reading, serving, parting, closed;
    char address[ADDRESS_BYTES];
};

struct px_clients {
    px_proxy *proxy;
    px_relay *relay;
    px_client *first;
    int32_t open;
    bool draining;
    uv_stream_t *waiting; /* has a connection that nobody took in: there are too many */
};

static void serve(px_client *c);

/* ---- reading ------------------------------------------------------------------------------------------------ */

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer);

static void read_start(px_client *c)
{
    if (c->reading || c->closed) return;
    c->reading = true;
    uv_read_start((uv_stream_t *)&c->tcp, px_relay_room, on_read);
}

static void read_stop(px_client *c)
{
    if (!c->reading) return;
    c->reading = false;
    uv_read_stop((uv_stream_t *)&c->tcp);
}

/* May bytes be taken in now, or do they wait for an answer, or for a server that is slow to take a body? */
static bool takes(const px_client *c)
{
    const px_exchange *x = c->exchange;

    if (c->closed || c->parting) return false;
    return !x || (x->request.phase < PX_WHOLE && !x->full && (x->started || !x->answered));
}

static void read_as_needed(px_client *c)
{
    bool full = c->exchange && c->exchange->full;

    if (!full && c->ahead.size < AHEAD_MOST) read_start(c);
    else read_stop(c);
}

/* ---- the end of an exchange, and of a connection ------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    px_client *c = handle->data;
    px_clients *all = c->all;

    px_give(&all->relay->clients, c);
    all->open--;
    if (all->waiting && all->open < all->proxy->config.clients) {
        uv_stream_t *listener = all->waiting;
        all->waiting = NULL;
        px_clients_accept(all, listener);
    }
}

static void close_client(px_client *c, bool reset)
{
    if (c->closed) return;
    c->closed = true;
    px_due_none(&c->due);
    px_out_clear(&c->out);
    px_chain_clear(c->all->relay, &c->ahead);
    if (c->before) c->before->next = c->next;
    else c->all->first = c->next;
    if (c->next) c->next->before = c->before;
    if (!reset || uv_tcp_close_reset(&c->tcp, on_closed) < 0) uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status;
}

/* Our side only; the other one follows, or a deadline. */
static void part(px_client *c)
{
    if (c->closed || c->parting) return;
    c->parting = true;
    px_chain_clear(c->all->relay, &c->ahead);
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) < 0) {
        close_client(c, false);
        return;
    }
    px_due_set(c->all->relay, &c->due, PX_WAIT_PARTING);
    read_start(c);
}

static void record(const px_exchange *x)
{
    px_record r;

    memset(&r, 0, sizeof r);
    r.arrived_s = x->arrived_s;
    r.started_s = x->attempt.started_s;
    r.ended_s = x->client->all->relay->now_s;
    r.server = x->tries > 0 ? x->attempt.server : -1;
    r.tries = x->tries;
    r.status = x->shown;
    r.ending = x->ending;
    r.bytes_in = x->request.body;
    r.bytes_out = x->bytes_out;
    r.method = x->begun ? http_method_str((enum http_method)x->request.method) : "";
    if (x->begun) r.target = x->request.target;
    r.client = x->address;
    px_watch_request(x->client->all->proxy->watch, &r);
}

/* The exchange is over, however it went; the connection goes on or not. */
static void finish(px_exchange *x, px_ending ending)
{
    px_client *c = x->client;
    px_relay *r = c->all->relay;

    x->ending = ending;
    record(x);
    px_due_none(&x->due);
    px_chain_clear(r, &x->body);
    px_chain_clear(r, &x->answer);
    c->exchange = NULL;
    px_give(&r->exchanges, x);
}

/* All that was to be sent is sent. */
static void answered(px_exchange *x)
{
    px_client *c = x->client;
    bool whole = x->request.phase == PX_WHOLE && c->ahead.size == 0 && !c->all->draining, last = x->last;

    finish(x, x->ending);
    if (last) {
        if (whole) close_client(c, false);
        else part(c);
        return;
    }
    px_due_set(c->all->relay, &c->due, PX_WAIT_IDLE);
    serve(c);
}

/* The connection is lost, or to be given up. */
static void abandon(px_client *c, px_ending ending, bool reset)
{
    px_exchange *x = c->exchange;

    if (c->closed) return;
    if (x) {
        if (x->started) px_upstream_cancel(x);
        finish(x, ending);
    }
    close_client(c, reset);
}

/* ---- answering ---------------------------------------------------------------------------------------------- */

static bool is_whole(const px_exchange *x)
{
    return x->own || x->response.phase == PX_WHOLE;
}

/* Sends, and ends the exchange if that was all. */
static void send_parts(px_exchange *x, const px_parts *parts)
{
    px_client *c = x->client;

    if (px_out_send(&c->out, parts) < 0) {
        abandon(c, PX_ENDED_GONE, false);
    } else if (c->out.left.size > 0) {
        px_due_set(c->all->relay, &c->due, PX_WAIT_IDLE);
    } else if (is_whole(x)) {
        answered(x);
    }
}

static void progress(void *self, int status)
{
    px_client *c = self;
    px_exchange *x = c->exchange;

    if (status < 0) {
        abandon(c, PX_ENDED_GONE, false);
        return;
    }
    if (!x || !x->answered) return;
    if (c->out.left.size > 0) px_due_set(c->all->relay, &c->due, PX_WAIT_IDLE);
    else px_due_none(&c->due);
    if (c->out.left.size == 0 && is_whole(x)) answered(x);
    else if (c->out.left.size <= PX_LITTLE && x->started) px_upstream_resume(x);
}

static bool says_last(const px_exchange *x)
{
    const px_clients *all = x->client->all;

    return all->draining || x->request.phase != PX_WHOLE || !x->request.keep_alive;
}

static bool old_client(const px_exchange *x)
{
    return x->request.minor == 0;
}

void px_client_answer(px_exchange *x)
{
    px_client *c = x->client;
    const px_message *m = &x->response;
    px_framing framing = px_message_framing(m, old_client(x));
    char *head = c->all->relay->scratch;
    px_parts parts = { NULL, 0, NULL, false, NULL, 0 };
    int32_t used = 0;

    if (m->phase == PX_WHOLE) x->started = false;
    if (!x->answered) {
        x->last = says_last(x) || framing == PX_UNTIL_CLOSE;
        used = px_response_write(m, old_client(x), x->last, head, PX_WRITE_MOST);
        if (used < 0) {
            if (x->started) px_upstream_cancel(x);
            px_client_fail(x, 502);
            return;
        }
        x->answered = true;
        x->shown = m->status;
        x->ending = m->status < 500 ? PX_ENDED_OK : PX_ENDED_FAILED;
    }
    x->bytes_out += (int64_t)x->answer.size;
    parts.head = head;
    parts.head_size = (size_t)used;
    parts.chain = &x->answer;
    if (framing == PX_CHUNKS) px_parts_chunk(&parts, m->phase == PX_WHOLE);
    send_parts(x, &parts);
}

void px_client_cut(px_exchange *x)
{
    x->ending = PX_ENDED_CUT;
    x->started = false;
    abandon(x->client, PX_ENDED_CUT, true);
}

/* An answer of our own. */
static void say(px_exchange *x, int32_t status, px_ending ending)
{
    px_client *c = x->client;
    px_parts parts = { NULL, 0, NULL, false, NULL, 0 };
    bool head_only = x->begun && x->request.method == HTTP_HEAD;
    int32_t used;

    x->last = says_last(x);
    x->own = x->answered = true;
    x->ending = ending;
    x->shown = status;
    parts.head = c->all->relay->scratch;
    used = px_answer_write(status, head_only, x->last, parts.head, PX_SCRATCH_BYTES);
    parts.head_size = used > 0 ? (size_t)used : 0;
    px_due_none(&c->due);
    send_parts(x, &parts);
}

void px_client_fail(px_exchange *x, int32_t status)
{
    x->started = false;
    say(x, status, PX_ENDED_NO_SERVER);
}

bool px_client_slow(const px_exchange *x)
{
    return x->client->out.left.size > PX_MUCH;
}

void px_client_room(px_exchange *x)
{
    px_client *c = x->client;

    x->full = false;
    px_due_set(c->all->relay, &c->due, PX_WAIT_IDLE);
    serve(c);
}

/* ---- the affinity key --------------------------------------------------------------------------------------- */

static uint64_t hash(const char *bytes, int32_t size)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a; the balancer mixes it further */
    int32_t i;

    for (i = 0; i < size; i++) h = (h ^ (unsigned char)bytes[i]) * 1099511628211u;
    return h ? h : 1;
}

static uint64_t key_of(const px_exchange *x, const px_config *config)
{
    px_slice part = { NULL, 0 };

    switch (config->key) {
    case PX_KEY_ADDRESS: return hash(x->address, (int32_t)strlen(x->address));
    case PX_KEY_TARGET: part = x->request.target; break;
    case PX_KEY_HEADER: part = px_message_header(&x->request, config->key_name); break;
    case PX_KEY_COOKIE: part = px_message_cookie(&x->request, config->key_name); break;
    case PX_KEY_NONE: break;
    }
    return part.text ? hash(part.text, part.size) : 0;
}

/* ---- a request comes in ------------------------------------------------------------------------------------- */

static px_exchange *begin(px_client *c)
{
    px_relay *r = c->all->relay;
    px_exchange *x = px_take(&r->exchanges, PX_EXCHANGE_CLEAR);

    x->relay = r;
    x->client = c;
    x->address = c->address;
    x->arrived_s = r->now_s;
    x->attempt.server = -1;
    x->kept = true;
    px_message_begin(&x->request, PX_REQUEST, &c->all->proxy->config.limits, NULL);
    c->exchange = x;
    px_due_set(r, &c->due, PX_WAIT_HEAD);
    return x;
}

static void on_body(void *self, const char *bytes, size_t size)
{
    px_exchange *x = self;

    px_chain_add(x->relay, &x->body, bytes, size);
}

static void head_is_whole(px_exchange *x)
{
    px_client *c = x->client;
    px_parts parts = { c->all->relay->scratch, 0, NULL, false, NULL, 0 };

    x->begun = true;
    x->key = key_of(x, &c->all->proxy->config);
    if (x->request.phase == PX_BODY && x->request.expects && x->request.body == 0) {
        parts.head_size = (size_t)px_answer_write(100, false, false, parts.head, PX_SCRATCH_BYTES);
        px_out_send(&c->out, &parts); /* if that fails, reading says so */
    }
}

/* A part of the request was taken in. */
static void came(px_exchange *x)
{
    px_client *c = x->client;
    const px_message *m = &x->request;
    size_t most = (size_t)c->all->proxy->config.hold_bytes;
    bool small = m->length <= (int64_t)most && x->body.size <= most;

    if (m->phase == PX_BROKEN) {
        if (x->started) px_upstream_cancel(x);
        x->started = false;
        if (x->answered) abandon(c, PX_ENDED_REFUSED, true);
        else say(x, m->status, PX_ENDED_REFUSED);
        return;
    }
    if (m->phase == PX_HEAD) return;
    if (!x->begun) head_is_whole(x);
    if (m->phase == PX_WHOLE) px_due_none(&c->due);
    else px_due_set(c->all->relay, &c->due, PX_WAIT_IDLE);
    if (x->started) {
        px_upstream_more(x);
    } else if (m->phase == PX_WHOLE || !small) {
        x->started = true;
        px_upstream_start(x);
    }
    if (c->exchange != x || !x->started || m->phase == PX_WHOLE || !px_upstream_slow(x)) return;
    x->full = true;
    px_due_none(&c->due);
}

/* How many of the bytes were taken. */
static size_t take(px_client *c, const char *bytes, size_t size)
{
    px_exchange *x = c->exchange ? c->exchange : begin(c);
    size_t used = px_message_feed(&x->request, bytes, size, on_body, x);

    came(x);
    return used;
}

/* What came ahead of its time, as far as its time has come. Answers may end within, and call this again. */
static void serve(px_client *c)
{
    if (c->serving) return;
    c->serving = true;
    while (c->ahead.size > 0 && takes(c)) {
        const px_block *b = c->ahead.first;
        size_t used = take(c, b->bytes + b->from, (size_t)(b->to - b->from));
        if (!c->closed && !c->parting) px_chain_drop(c->all->relay, &c->ahead, used);
    }
    c->serving = false;
    if (!c->closed && !c->parting) read_as_needed(c);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    px_client *c = stream->data;
    px_relay *r = c->all->relay;
    size_t done = 0, all = (size_t)size;

    if (size == 0) return;
    r->now_s = px_now_s();
    if (size < 0) {
        abandon(c, PX_ENDED_GONE, false);
        return;
    }
    if (c->parting) {
        c->dropped += all;
        if (c->dropped > PARTING_MOST) read_stop(c); /* it has until the deadline to see the answer */
        return;
    }
    c->serving = true;
    while (c->ahead.size == 0 && done < all && takes(c)) done += take(c, buffer->base + done, all - done);
    c->serving = false;
    if (c->closed || c->parting) return;
    px_chain_add(r, &c->ahead, buffer->base + done, all - done);
    if (c->ahead.size > 0) serve(c);
    else if (c->exchange && c->exchange->full) read_as_needed(c);
}

/* ---- connections -------------------------------------------------------------------------------------------- */

static void late(void *self)
{
    px_client *c = self;
    px_exchange *x = c->exchange;

    if (!x || c->parting || x->answered) abandon(c, PX_ENDED_GONE, x && x->answered);
    else {
        if (x->started) px_upstream_cancel(x);
        x->started = false;
        say(x, 408, PX_ENDED_REFUSED);
    }
}

static bool peer_of(const uv_tcp_t *tcp, char *to, size_t size)
{
    struct sockaddr_storage address;
    int length = (int)sizeof address, status;

    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&address, &length) < 0) return false;
    if (address.ss_family == AF_INET6) status = uv_ip6_name((struct sockaddr_in6 *)&address, to, size);
    else status = uv_ip4_name((struct sockaddr_in *)&address, to, size);
    return status == 0;
}

void px_clients_accept(px_clients *all, uv_stream_t *listener)
{
    px_client *c;

    if (all->draining) return;
    if (all->open >= all->proxy->config.clients) {
        all->waiting = listener; /* libuv asks for no more until this one is taken in */
        return;
    }
    c = px_take(&all->relay->clients, sizeof *c);
    c->all = all;
    uv_tcp_init(all->proxy->loop, &c->tcp);
    c->tcp.data = c;
    c->due.late = late;
    c->due.self = c;
    px_out_open(&c->out, all->relay, (uv_stream_t *)&c->tcp, progress, c);
    c->next = all->first;
    if (all->first) all->first->before = c;
    all->first = c;
    all->open++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0 || !peer_of(&c->tcp, c->address, sizeof c->address)) {
        close_client(c, false);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    px_due_set(all->relay, &c->due, PX_WAIT_IDLE);
    read_start(c);
}

void px_clients_forget(px_clients *all, uv_stream_t *listener)
{
    if (all->waiting == listener) all->waiting = NULL;
}

/* A request may be on its way on any connection that is kept: closed now, it would be lost. So each has a moment left
   to ask once more, and is told with the answer that it was the last. */
void px_clients_drain(px_clients *all)
{
    px_client *c;

    all->draining = true;
    for (c = all->first; c; c = c->next) {
        if (!c->exchange && !c->parting) px_due_set(all->relay, &c->due, PX_WAIT_PARTING);
    }
}

void px_clients_close(px_clients *all)
{
    px_client *c, *next;

    for (c = all->first; c; c = next) {
        next = c->next;
        abandon(c, PX_ENDED_GONE, false);
    }
}

int32_t px_clients_open(const px_clients *all)
{
    return all->open;
}

px_clients *px_clients_create(px_proxy *proxy)
{
    px_clients *all = calloc(1, sizeof *all);

    if (!all) {
        ex_fail("out of memory");
        return NULL;
    }
    all->proxy = proxy;
    all->relay = proxy->relay;
    all->relay->clients.size = sizeof(px_client);
    return all;
}

void px_clients_destroy(px_clients *all)
{
    free(all);
}
