/* upstream.c - connections to servers, and attempts to have a request answered

   A server's idle connections wait in a stack: the one used last is used first, so that what is not needed grows old
   and is closed. They are read while they wait, so a server that closes one is seen to do so. One that it closes just
   as a request is sent on it costs nothing but another connection, as long as nothing came back and the request may
   be sent twice (below).

   What is tried again, on another server, as long as nothing of an answer was passed on and all of the body is at hand:
     - no connection (refused, timed out): any method, since nothing was sent;
     - a connection that broke, a broken answer or none in time: GET, HEAD, PUT, DELETE, OPTIONS. Others (POST,
       PATCH) may have been carried out, and are answered 502 or 504. So may one on a connection that had waited: before
       such a request is sent the connection is asked once more whether it is open, but what is closed a moment later
       is not told from a server that died over its work;
     - 502, 503, 504 from the server: the same methods, if there is another server; else that answer is passed on. A 500
       is the application's answer, and is passed on.
   502: no connection or a broken one. 503: no server may be picked, or none had a place in time. 504: no answer in
   time.

   An answer with a length up to hold_bytes is passed on when it is whole, so a server that dies over it harms nobody. A
   longer one, or one in chunks, is passed on as it comes; if that breaks off the client's connection is reset, so that
   nobody takes a part for all of it. */

#include "options.h"
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef struct server {
    struct sockaddr_storage address;
    char host[80];       /* ADDRESS:PORT */
    uint32_t generation; /* changes when another server takes the index, or the address changes */
    bool known;
    int32_t connections; /* at most; 0: any number */
    px_link *first;      /* idle ones, the one used last first */
    px_pool_info info;
} server;

struct px_link {
    void *next_free;
    px_link *next, *before; /* idle ones of the server */
    px_link *all_next, *all_before;
    px_upstream *up;
    int32_t at;             /* the server's index */
    uint32_t generation;
    uv_tcp_t tcp;
    uv_connect_t connect;
    px_out out;
    px_due due;
    px_exchange *exchange;  /* NULL: idle */
    bool connected, closed;
    bool reused, heard;     /* waited before this request; something of an answer came */
    bool slow;              /* not read, since the client does not follow */
    bool broken;            /* takes no more */
    bool told;              /* keep_ms was looked for in an answer */
    uint64_t keep_ms;       /* after so much idleness the server closes it; 0: it did not say */
    uint64_t idle_ms;       /* idle since */
};

struct px_upstream {
    px_proxy *proxy;
    px_relay *relay;
    server *servers;
    int32_t count;
    px_link *links;                     /* all */
    px_exchange *wait_first, *wait_last;/* all servers that could be asked have as many connections as they may */
    px_limits limits;                   /* of answers */
    bool closing, waking;
};

static void try_one(px_exchange *x);
static void place(px_exchange *x, const px_attempt *a);
static void failed(px_exchange *x, int32_t status);
static void wake(px_upstream *u);

static px_upstream *up_of(const px_exchange *x)
{
    return x->relay->proxy->upstream;
}

static server *server_at(px_upstream *u, int32_t index)
{
    return index >= 0 && index < u->count && u->servers[index].known ? &u->servers[index] : NULL;
}

static const px_config *config_of(const px_upstream *u)
{
    return &u->proxy->config;
}

/* ---- connections -------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    px_link *l = handle->data;

    px_give(&l->up->relay->links, l);
}

static void leave_idle(px_link *l)
{
    server *s = &l->up->servers[l->at];

    if (l->before) l->before->next = l->next;
    else s->first = l->next;
    if (l->next) l->next->before = l->before;
    l->next = l->before = NULL;
    s->info.idle--;
}

/* From its exchange, or from those that are idle. */
static void detach(px_link *l)
{
    px_due_none(&l->due);
    if (!l->exchange) {
        leave_idle(l);
        return;
    }
    l->exchange->link = NULL;
    l->exchange = NULL;
    l->up->servers[l->at].info.busy--;
}

static void close_link(px_link *l)
{
    px_upstream *u = l->up;

    if (l->closed) return;
    detach(l);
    l->closed = true;
    px_out_clear(&l->out);
    if (l->all_before) l->all_before->all_next = l->all_next;
    else u->links = l->all_next;
    if (l->all_next) l->all_next->all_before = l->all_before;
    uv_close((uv_handle_t *)&l->tcp, on_closed);
}

static void attach(px_link *l, px_exchange *x)
{
    l->exchange = x;
    x->link = l;
    l->heard = false;
    l->up->servers[l->at].info.busy++;
}

/* Kept for another request, if it may be. */
static void release(px_link *l, bool reuse)
{
    px_upstream *u = l->up;
    server *s = &u->servers[l->at];

    if (!reuse || u->closing || l->generation != s->generation ||
        s->info.idle >= config_of(u)->idle_connections) {
        close_link(l);
        return;
    }
    detach(l);
    l->reused = true;
    l->idle_ms = uv_now(u->proxy->loop);
    l->next = s->first;
    if (s->first) s->first->before = l;
    s->first = l;
    s->info.idle++;
    px_due_set(u->relay, &l->due, PX_WAIT_KEPT);
}

/* "Keep-Alive: timeout=5": a second less, so that the server does not close first. */
static void note_patience(px_link *l, const px_message *m)
{
    px_slice value = px_message_header(m, "keep-alive");
    static const char word[] = "timeout=";
    int32_t length = (int32_t)sizeof word - 1, i, at;
    uint64_t seconds = 0;

    l->told = true;
    for (i = 0; i + length < value.size; i++) {
        if (memcmp(value.text + i, word, (size_t)length) != 0) continue;
        for (at = i + length; at < value.size && value.text[at] >= '0' && value.text[at] <= '9'; at++) {
            if (seconds < 100000) seconds = 10 * seconds + (uint64_t)(value.text[at] - '0');
        }
        l->keep_ms = seconds > 1 ? 1000 * seconds - 1000 : 500;
        return;
    }
}

static bool is_open(const px_link *l)
{
    char byte;
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&l->tcp, &fd) < 0) return false;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static bool idempotent(const px_exchange *x)
{
    switch (x->request.method) {
    case HTTP_GET:
    case HTTP_HEAD:
    case HTTP_PUT:
    case HTTP_DELETE:
    case HTTP_OPTIONS: return true;
    default: return false;
    }
}

static px_link *idle_link(px_upstream *u, server *s, const px_exchange *x)
{
    while (s->first) {
        px_link *l = s->first;
        bool old = l->keep_ms > 0 && uv_now(u->proxy->loop) - l->idle_ms >= l->keep_ms;
        if (!old && (idempotent(x) || is_open(l))) return l;
        close_link(l);
    }
    return NULL;
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

static void attempt_end(px_exchange *x, rllb_outcome outcome)
{
    px_proxy *p = x->relay->proxy;
    double now_s = x->relay->now_s;

    if (!x->attempting) return;
    x->attempting = false;
    x->relay->attempts++;
    px_policy_done(p->policy, &x->attempt, now_s, outcome);
    px_watch_attempt(p->watch, x->attempt.server, now_s - x->attempt.started_s, outcome);
    if (outcome == RLLB_OUTCOME_FAILED && x->attempt.server < up_of(x)->count) {
        up_of(x)->servers[x->attempt.server].info.failed++;
    }
}

/* May the request be sent again? */
static bool may_repeat(const px_exchange *x)
{
    return x->kept && !x->answered && (!x->sent || idempotent(x));
}

static bool tries_left(const px_exchange *x)
{
    return x->tries <= config_of(up_of(x))->retries && x->tried_count < PX_TRIES_MOST;
}

/* The server has its patience while it is its turn. */
static void arm(px_link *l)
{
    const px_exchange *x = l->exchange;

    if (l->slow || (!x->ended_sending && l->out.left.size == 0)) px_due_none(&l->due);
    else px_due_set(l->up->relay, &l->due, PX_WAIT_RESPONSE);
}

/* The connection broke. */
static void broke(px_link *l)
{
    px_exchange *x = l->exchange;
    bool stale = l->reused && !l->heard;

    close_link(l);
    if (x->answered) {
        attempt_end(x, RLLB_OUTCOME_FAILED);
        px_client_cut(x);
    } else if (stale && may_repeat(x)) { /* it had just been closed: no sign of a server in trouble */
        px_attempt again = x->attempt;
        x->fresh = true;
        x->sent = x->attempting = false;
        x->tries--;
        place(x, &again);
    } else {
        failed(x, 502);
    }
}

/* What is there of the body, after `used` bytes of scratch. A body that is whole stays: it may be sent again. */
static void send_body(px_link *l, int32_t used)
{
    px_exchange *x = l->exchange;
    px_parts parts = { l->up->relay->scratch, (size_t)used, &x->body, false, NULL, 0 };
    bool whole = x->request.phase == PX_WHOLE;

    if (x->request.chunked) px_parts_chunk(&parts, whole);
    parts.keep = whole && x->kept;
    if (!parts.keep && x->body.size) x->kept = false;
    x->ended_sending = whole;
    if (px_out_send(&l->out, &parts) < 0) {
        if (!x->sent) broke(l);
        else l->broken = true; /* what the server said before it closed is still to be read */
        return;
    }
    x->sent = true;
    arm(l);
}

static void send_request(px_link *l)
{
    px_upstream *u = l->up;
    px_exchange *x = l->exchange;
    int32_t used = px_request_write(&x->request, x->address, u->servers[l->at].host, false, u->relay->scratch,
                                    PX_WRITE_MOST);

    if (used < 0) {
        px_upstream_cancel(x);
        px_client_fail(x, 431);
        return;
    }
    x->judged = x->hold = false;
    px_message_begin(&x->response, PX_RESPONSE, &u->limits, &x->request);
    send_body(l, used);
}

void px_upstream_more(px_exchange *x)
{
    px_link *l = x->link;

    if (!l || !l->connected) return;
    if (l->broken) px_chain_clear(x->relay, &x->body);
    else send_body(l, 0);
}

bool px_upstream_slow(const px_exchange *x)
{
    const px_link *l = x->link;

    if (l && l->connected) return l->out.left.size > PX_MUCH;
    return x->body.size > (size_t)config_of(up_of(x))->hold_bytes + PX_MUCH;
}

static void progress(void *self, int status)
{
    px_link *l = self;
    px_exchange *x = l->exchange;

    if (status < 0) l->broken = true;
    if (!x) return;
    arm(l);
    if (x->full && l->out.left.size <= PX_LITTLE) px_client_room(x);
}

/* ---- an answer comes ---------------------------------------------------------------------------------------- */

static void on_body(void *self, const char *bytes, size_t size)
{
    px_exchange *x = self;

    px_chain_add(x->relay, &x->answer, bytes, size);
}

/* Another server may do better than to answer 502, 503 or 504. */
static bool ask_another(px_link *l, bool reuse)
{
    px_exchange *x = l->exchange;
    px_attempt a;

    if (x->response.status < 502 || x->response.status > 504 || !may_repeat(x) || !tries_left(x)) return false;
    x->tried[x->tried_count++] = x->attempt.server;
    if (!px_policy_pick_other(x->relay->proxy->policy, x->tried, x->tried_count, x->relay->now_s, &a)) {
        x->tried_count--;
        return false;
    }
    x->status = x->response.status;
    attempt_end(x, RLLB_OUTCOME_FAILED);
    release(l, reuse);
    px_chain_clear(x->relay, &x->answer);
    x->sent = x->fresh = false;
    place(x, &a);
    return true;
}

static void answer_is_whole(px_link *l, bool reuse)
{
    px_upstream *u = l->up;
    px_exchange *x = l->exchange;

    attempt_end(x, x->response.status < 500 ? RLLB_OUTCOME_OK : RLLB_OUTCOME_FAILED);
    release(l, reuse);
    px_client_answer(x);
    wake(u);
}

/* A part of an answer was taken in. exact: nothing came after it. */
static void came(px_link *l, bool exact)
{
    px_exchange *x = l->exchange;
    const px_message *m = &x->response;
    bool reuse = m->phase == PX_WHOLE && exact && m->keep_alive && x->ended_sending && l->out.left.size == 0 &&
                 !l->broken;

    if (!x->judged) {
        x->judged = true;
        x->hold = m->length >= 0 && m->length <= config_of(l->up)->hold_bytes;
        if (!l->told) note_patience(l, m);
        if (ask_another(l, reuse)) return;
    }
    if (m->phase == PX_WHOLE) {
        answer_is_whole(l, reuse);
        return;
    }
    if (!x->hold) {
        px_client_answer(x);
        if (l->closed || l->exchange != x) return;
        if (px_client_slow(x)) {
            l->slow = true;
            uv_read_stop((uv_stream_t *)&l->tcp);
        }
    }
    arm(l);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    px_link *l = stream->data;
    px_exchange *x = l->exchange;
    size_t used;

    if (size == 0) return;
    l->up->relay->now_s = px_now_s();
    if (!x) { /* closed, or speaks without being asked */
        close_link(l);
        return;
    }
    if (size < 0) {
        if (size == UV_EOF && l->heard) px_message_close(&x->response);
        if (size == UV_EOF && l->heard && x->response.phase == PX_WHOLE) came(l, false);
        else broke(l);
        return;
    }
    l->heard = true;
    used = px_message_feed(&x->response, buffer->base, (size_t)size, on_body, x);
    if (x->response.phase == PX_BROKEN) broke(l);
    else if (x->response.phase == PX_HEAD) arm(l);
    else came(l, used == (size_t)size);
}

void px_upstream_resume(px_exchange *x)
{
    px_link *l = x->link;

    if (!l || !l->slow) return;
    l->slow = false;
    uv_read_start((uv_stream_t *)&l->tcp, px_relay_room, on_read);
    arm(l);
}

/* ---- connecting --------------------------------------------------------------------------------------------- */

static void late(void *self)
{
    px_link *l = self;
    px_exchange *x = l->exchange;

    if (!x) {
        close_link(l);
        return;
    }
    close_link(l);
    if (x->answered) {
        attempt_end(x, RLLB_OUTCOME_FAILED);
        px_client_cut(x);
    } else {
        failed(x, 504);
    }
}

static void on_connect(uv_connect_t *request, int status)
{
    px_link *l = request->data;
    px_exchange *x = l->exchange;

    if (l->closed) return;
    l->up->relay->now_s = px_now_s();
    if (status < 0) {
        close_link(l);
        failed(x, 502);
        return;
    }
    l->connected = true;
    uv_read_start((uv_stream_t *)&l->tcp, px_relay_room, on_read);
    send_request(l);
    if (!l->closed && l->exchange == x && x->full && l->out.left.size <= PX_LITTLE) px_client_room(x);
}

static void connect_link(px_exchange *x, int32_t at)
{
    px_upstream *u = up_of(x);
    server *s = &u->servers[at];
    px_link *l = px_take(&u->relay->links, sizeof *l);
    int status;

    l->up = u;
    l->at = at;
    l->generation = s->generation;
    l->all_next = u->links;
    if (u->links) u->links->all_before = l;
    u->links = l;
    l->due.late = late;
    l->due.self = l;
    uv_tcp_init(u->proxy->loop, &l->tcp);
    l->tcp.data = l;
    l->connect.data = l;
    px_out_open(&l->out, u->relay, (uv_stream_t *)&l->tcp, progress, l);
    attach(l, x);
    s->info.opened++;
    status = uv_tcp_connect(&l->connect, &l->tcp, (const struct sockaddr *)&s->address, on_connect);
    if (status == 0) {
        uv_tcp_nodelay(&l->tcp, 1);
        px_due_set(u->relay, &l->due, PX_WAIT_CONNECT);
        return;
    }
    close_link(l);
    if (status == UV_EMFILE || status == UV_ENFILE || status == UV_EADDRNOTAVAIL) { /* our trouble, not the server's */
        attempt_end(x, RLLB_OUTCOME_CANCELLED);
        px_client_fail(x, 503);
    } else {
        failed(x, 502);
    }
}

/* ---- a place at a server ------------------------------------------------------------------------------------ */

static bool is_full(const server *s)
{
    return s->connections > 0 && !s->first && s->info.busy >= s->connections;
}

static void wait_late(void *self)
{
    px_exchange *x = self;

    px_upstream_cancel(x);
    px_client_fail(x, 503);
}

/* No more wait than there are clients. */
static void wait_for_place(px_exchange *x)
{
    px_upstream *u = up_of(x);

    x->before = u->wait_last;
    x->next = NULL;
    if (u->wait_last) u->wait_last->next = x;
    else u->wait_first = x;
    u->wait_last = x;
    if (x->due.next) return; /* woken in vain: its time runs on */
    x->due.late = wait_late;
    x->due.self = x;
    px_due_set(u->relay, &x->due, PX_WAIT_CONNECT);
}

static bool is_waiting(const px_exchange *x)
{
    return x->before || x->next || up_of(x)->wait_first == x;
}

static void leave_wait(px_exchange *x)
{
    px_upstream *u = up_of(x);

    if (!is_waiting(x)) return;
    if (x->before) x->before->next = x->next;
    else u->wait_first = x->next;
    if (x->next) x->next->before = x->before;
    else u->wait_last = x->before;
    x->next = x->before = NULL;
}

/* Places came free. Who finds none after all is first in line again. */
static void wake(px_upstream *u)
{
    px_exchange *x;

    if (u->waking) return;
    u->waking = true;
    while ((x = u->wait_first) != NULL) {
        leave_wait(x);
        try_one(x);
        if (u->wait_last != x) continue;
        leave_wait(x);
        x->next = u->wait_first;
        if (x->next) x->next->before = x;
        else u->wait_last = x;
        u->wait_first = x;
        break;
    }
    u->waking = false;
}

static void go_to(px_exchange *x, const px_attempt *a)
{
    px_upstream *u = up_of(x);
    server *s = &u->servers[a->server];
    px_link *l = x->fresh ? NULL : idle_link(u, s, x);

    if (!l && s->first && s->connections > 0 && s->info.busy + s->info.idle >= s->connections) close_link(s->first);
    px_due_none(&x->due);
    x->attempt = *a;
    x->attempting = true;
    x->tries++;
    if (!l) {
        connect_link(x, a->server);
        return;
    }
    leave_idle(l);
    attach(l, x);
    s->info.reused++;
    send_request(l);
}

/* All are full, or gone, but perhaps one. */
static void go_elsewhere(px_exchange *x)
{
    px_upstream *u = up_of(x);
    static int32_t without[PX_INDEXES_MOST + PX_TRIES_MOST];
    int32_t most = (int32_t)(sizeof without / sizeof *without), count = 0, full = 0, i;
    px_attempt a;

    for (i = 0; i < x->tried_count; i++) without[count++] = x->tried[i];
    for (i = 0; i < u->count && count < most; i++) {
        if (u->servers[i].known && !is_full(&u->servers[i])) continue;
        full += u->servers[i].known;
        without[count++] = i;
    }
    if (px_policy_pick_other(u->proxy->policy, without, count, u->relay->now_s, &a)) go_to(x, &a);
    else if (full > 0) wait_for_place(x);
    else px_client_fail(x, x->status ? x->status : 503);
}

static void place(px_exchange *x, const px_attempt *a)
{
    px_upstream *u = up_of(x);
    const server *s = server_at(u, a->server);

    if (s && !is_full(s)) {
        go_to(x, a);
        return;
    }
    px_policy_done(u->proxy->policy, a, u->relay->now_s, RLLB_OUTCOME_CANCELLED);
    go_elsewhere(x);
}

static void try_one(px_exchange *x)
{
    px_policy *policy = x->relay->proxy->policy;
    double now_s = x->relay->now_s;
    px_attempt a;
    bool picked = x->tried_count == 0 ? px_policy_pick(policy, x->key, now_s, &a)
                                      : px_policy_pick_other(policy, x->tried, x->tried_count, now_s, &a);

    if (picked) place(x, &a);
    else px_client_fail(x, x->status ? x->status : 503);
}

/* The attempt came to nothing. */
static void failed(px_exchange *x, int32_t status)
{
    px_upstream *u = up_of(x);
    bool again = may_repeat(x) && tries_left(x);

    attempt_end(x, RLLB_OUTCOME_FAILED);
    x->status = status;
    px_chain_clear(x->relay, &x->answer);
    if (again) {
        x->tried[x->tried_count++] = x->attempt.server;
        x->sent = x->fresh = false;
        try_one(x);
    } else {
        px_client_fail(x, status);
    }
    wake(u);
}

void px_upstream_start(px_exchange *x)
{
    try_one(x);
}

void px_upstream_cancel(px_exchange *x)
{
    px_upstream *u = up_of(x);

    leave_wait(x);
    px_due_none(&x->due);
    attempt_end(x, RLLB_OUTCOME_CANCELLED);
    if (!x->link) return;
    close_link(x->link);
    wake(u);
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static bool make_room(px_upstream *u, int32_t count)
{
    server *more;

    if (count <= u->count) return true;
    more = realloc(u->servers, (size_t)count * sizeof *more);
    if (!more) return false;
    memset(more + u->count, 0, (size_t)(count - u->count) * sizeof *more);
    u->servers = more;
    u->count = count;
    return true;
}

static void set_server(px_upstream *u, const px_server_config *c, server *s)
{
    struct sockaddr_storage address;
    bool six = strchr(c->host, ':') != NULL;

    (void)u;
    memset(&address, 0, sizeof address);
    if (six) uv_ip6_addr(c->host, c->port, (struct sockaddr_in6 *)&address);
    else uv_ip4_addr(c->host, c->port, (struct sockaddr_in *)&address);
    if (!s->known || memcmp(&address, &s->address, sizeof address) != 0) s->generation++;
    s->known = true;
    s->address = address;
    s->connections = c->connections;
    snprintf(s->host, sizeof s->host, six ? "[%s]:%d" : "%s:%d", c->host, (int)c->port);
}

/* Which index is whose now. Another server at an index has another address, or the one before was gone meanwhile. */
static void learn_servers(px_upstream *u)
{
    const px_config *c = config_of(u);
    bool *there;
    int32_t i;

    for (i = 0; i < c->server_count; i++) {
        if (!make_room(u, px_policy_server(u->proxy->policy, c->server[i].name) + 1)) return;
    }
    there = calloc((size_t)u->count + 1, sizeof *there);
    if (!there) return;
    for (i = 0; i < c->server_count; i++) {
        int32_t at = px_policy_server(u->proxy->policy, c->server[i].name);
        if (at < 0) continue;
        there[at] = true;
        set_server(u, &c->server[i], &u->servers[at]);
    }
    for (i = 0; i < u->count; i++) {
        if (there[i] || !u->servers[i].known) continue;
        u->servers[i].known = false;
        u->servers[i].generation++;
    }
    free(there);
}

void px_upstream_reload(px_upstream *u)
{
    px_link *l, *next;

    learn_servers(u);
    for (l = u->links; l; l = next) {
        next = l->all_next;
        if (!l->exchange && l->generation != u->servers[l->at].generation) close_link(l);
    }
    wake(u);
}

void px_upstream_close(px_upstream *u, bool at_once)
{
    px_link *l, *next;

    u->closing = true;
    for (l = u->links; l; l = next) {
        next = l->all_next;
        if (!l->exchange || at_once) close_link(l);
    }
}

void px_upstream_info(const px_upstream *u, int32_t at, px_pool_info *out)
{
    memset(out, 0, sizeof *out);
    if (at >= 0 && at < u->count) *out = u->servers[at].info;
}

px_upstream *px_upstream_create(px_proxy *proxy)
{
    px_upstream *u = calloc(1, sizeof *u);

    if (!u) {
        ex_fail("out of memory");
        return NULL;
    }
    u->proxy = proxy;
    u->relay = proxy->relay;
    u->relay->links.size = sizeof(px_link);
    px_limits_default(&u->limits);
    u->limits.body_bytes = INT64_MAX;
    u->limits.head_bytes = PX_HEAD_MOST;
    u->limits.headers = PX_HEADERS_MOST;
    learn_servers(u);
    return u;
}

void px_upstream_destroy(px_upstream *u)
{
    if (!u) return;
    free(u->servers);
    free(u);
}
