/* Fuzz target: messages as the proxy takes them in. The first byte says what it is (a request, an answer to GET or to
   HEAD) and which limits are in force, the second draws the pieces; the rest is what a peer sends. Whatever it is:

   - the pieces change nothing, and nothing is read beyond them (each is a heap block of its own)
   - phases only go on, and what is broken has a status and words for it
   - what is written of a message is exactly one message when it is read again, the same one: method, target, host,
     status, headers, length of the body; written again it is the same text
   - every request in a row (pipelined) is found by itself as it is found among others

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz tests/fuzz/fuzz_http_message.c -lhttp_parser -o fuzz_http_message && ./fuzz_http_message

   Without -DFUZZ_LIBFUZZER and fuzzer in -fsanitize any compiler builds the loop of fuzz_main.h. */

#include "../../examples/http/message.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* A message and what came of its body. */
typedef struct reading {
    px_message m;
    uint64_t sum; /* of the body's bytes, with their places */
    int64_t size;
} reading;

typedef struct setting {
    px_kind kind;
    px_limits limits;
    const px_message *asked;
} setting;

static reading whole_one, pieces_one, again_one;
static px_message get_request, head_request;

static void collect(void *self, const char *bytes, size_t size)
{
    reading *r = self;
    size_t i;

    DEMAND((r->m.phase == PX_BODY || r->m.phase == PX_BROKEN) && size > 0);
    for (i = 0; i < size; i++) r->sum = (r->sum ^ (uint8_t)bytes[i]) * 0x100000001b3u + (uint64_t)r->size++;
}

static void begin(reading *r, const setting *s)
{
    px_message_begin(&r->m, s->kind, &s->limits, s->asked);
    DEMAND(r->m.phase == PX_HEAD);
    r->sum = 0;
    r->size = 0;
}

static bool goes_on(const reading *r) { return r->m.phase == PX_HEAD || r->m.phase == PX_BODY; }

static size_t feed(reading *r, const char *bytes, size_t size)
{
    px_phase before = r->m.phase;
    char *exact = malloc(size ? size : 1);
    size_t used;

    if (!exact) exit(1);
    if (size) memcpy(exact, bytes, size);
    used = px_message_feed(&r->m, exact, size, collect, r);
    free(exact);
    DEMAND(used <= size && (used == size || !goes_on(r)));
    DEMAND(r->m.phase >= before);
    return used;
}

static void check_head(const px_message *m)
{
    int32_t i;

    for (i = 0; i < m->headers; i++) {
        const px_header *h = &m->header[i];
        DEMAND(h->name_size > 0 && h->name_at + h->name_size < h->value_at + 1);
        DEMAND(h->value_at + h->value_size <= m->used);
    }
    DEMAND(m->headers <= m->limits.headers && m->used <= m->limits.head_bytes);
    DEMAND(!(m->chunked && m->length >= 0));
    if (m->kind == PX_REQUEST) {
        DEMAND(m->target.size >= 1 && m->target.size <= m->limits.target_bytes + 1);
        DEMAND(m->target.text[0] == '/' || (m->target.text[0] == '*' && m->target.size == 1));
        DEMAND(m->host.size > 0 || m->minor == 0);
    } else {
        DEMAND(m->status >= 200 && m->status <= 999);
    }
}

static void check_phase(const reading *r)
{
    const px_message *m = &r->m;

    DEMAND(r->size == m->body);
    if (m->phase == PX_BROKEN) {
        DEMAND(m->why && m->why[0] && !m->keep_alive);
        DEMAND(m->kind == PX_RESPONSE ? m->status == 502 : m->status >= 400 && m->status <= 505);
        return;
    }
    if (m->phase == PX_HEAD) return;
    check_head(m);
    DEMAND(m->body <= m->limits.body_bytes);
    if (m->phase == PX_BODY) DEMAND(m->chunked || m->until_close || m->body < m->length);
    else if (m->bodiless) DEMAND(m->body == 0);
    else DEMAND(m->chunked || m->until_close || m->body == (m->length < 0 ? 0 : m->length));
}

static bool same_slice(px_slice a, px_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.text, b.text, (size_t)a.size) == 0);
}

/* All that a caller sees. */
static void check_same(const reading *a, const reading *b)
{
    int32_t i;

    DEMAND(a->m.phase == b->m.phase && a->m.status == b->m.status);
    DEMAND((a->m.why == NULL) == (b->m.why == NULL) && (!a->m.why || strcmp(a->m.why, b->m.why) == 0));
    DEMAND(a->m.method == b->m.method && a->m.minor == b->m.minor && a->m.keep_alive == b->m.keep_alive);
    DEMAND(a->m.chunked == b->m.chunked && a->m.until_close == b->m.until_close && a->m.bodiless == b->m.bodiless);
    DEMAND(a->m.expects == b->m.expects && a->m.length == b->m.length);
    DEMAND(a->m.body == b->m.body && a->sum == b->sum && a->m.headers == b->m.headers);
    DEMAND(same_slice(a->m.target, b->m.target) && same_slice(a->m.host, b->m.host));
    DEMAND(same_slice(a->m.reason, b->m.reason));
    for (i = 0; i < a->m.headers; i++) {
        DEMAND(same_slice(name_of(&a->m, &a->m.header[i]), name_of(&b->m, &b->m.header[i])));
        DEMAND(same_slice(value_of(&a->m, &a->m.header[i]), value_of(&b->m, &b->m.header[i])));
        DEMAND(a->m.header[i].what == b->m.header[i].what);
    }
}

/* ---- what is written ------------------------------------------------------------------------------------------- */

/* A second opinion on which headers go on, said in other words than message.c's. */
static bool stays_here(const px_message *m, px_slice name)
{
    static const char *const here[] = { "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
                                        "content-length", "proxy", "proxy-connection", "proxy-authorization",
                                        "proxy-authenticate", "http2-settings" };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    size_t i;

    for (i = 0; i < sizeof here / sizeof here[0]; i++) {
        if (same(name, here[i])) return true;
    }
    if (m->kind == PX_RESPONSE) return false;
    if (same(name, "host") || same(name, "x-forwarded-for") || same(name, "expect")) return true;
    for (i = 0; i < (size_t)name.size; i++) {
        if (!strchr(letters, name.text[i])) return true;
    }
    return false;
}

static bool left_out(const px_message *m, const px_header *h)
{
    return h->what == HOP || stays_here(m, name_of(m, h));
}

/* The headers of the second reading are those of the first, in their order, and what the proxy adds. */
static void check_headers(const px_message *from, const px_message *to)
{
    int32_t i = 0, k, hosts = 0, framings = 0;

    for (k = 0; k < to->headers; k++) {
        px_slice name = name_of(to, &to->header[k]), value = value_of(to, &to->header[k]);
        hosts += same(name, "host");
        framings += same(name, "content-length") || same(name, "transfer-encoding");
        if (stays_here(to, name)) continue;
        if (to->kind == PX_REQUEST && k >= to->headers - 2 && same(name, "via")) continue; /* ours */
        while (i < from->headers && left_out(from, &from->header[i])) i++;
        DEMAND(i < from->headers && same_slice(name, name_of(from, &from->header[i])));
        DEMAND(same_slice(value, value_of(from, &from->header[i])));
        i++;
    }
    for (; i < from->headers; i++) DEMAND(left_out(from, &from->header[i]));
    DEMAND(framings <= 1 && (to->kind == PX_RESPONSE || hosts == 1));
}

static int32_t write_head(const px_message *m, bool http10, bool close, char *to, int32_t size)
{
    return m->kind == PX_REQUEST ? px_request_write(m, "::1", "h", close, to, size)
                                 : px_response_write(m, http10, close, to, size);
}

static void check_written(const reading *r, setting s, bool http10, bool close)
{
    static char text[PX_WRITE_MOST];
    const px_message *m = &r->m, *n = &again_one.m;
    px_framing framing = px_message_framing(m, http10);
    int32_t size = write_head(m, http10, close, text, sizeof text);

    DEMAND(size > 0);
    DEMAND(write_head(m, http10, close, text, size - 1) == -1 && write_head(m, http10, close, text, size) == size);
    if (size > PX_HEAD_MOST) return; /* more than this reader takes */
    px_limits_default(&s.limits);
    s.limits.headers = PX_HEADERS_MOST;
    s.limits.body_bytes = INT64_MAX;
    if (m->headers > PX_HEADERS_MOST - 5) return;
    begin(&again_one, &s);
    DEMAND(feed(&again_one, text, (size_t)size) == (size_t)size);
    if (m->bodiless || framing == PX_NO_BODY || (framing == PX_LENGTH && m->length == 0)) {
        DEMAND(n->phase == PX_WHOLE);
    } else {
        DEMAND(n->phase == PX_BODY);
    }
    DEMAND(n->method == m->method && n->status == m->status && n->minor == 1 && !n->expects);
    DEMAND(n->until_close == (framing == PX_UNTIL_CLOSE) && (n->chunked == (framing == PX_CHUNKS)));
    DEMAND(framing != PX_LENGTH || n->length == m->length);
    DEMAND(n->keep_alive == (!close && framing != PX_UNTIL_CLOSE));
    DEMAND(same_slice(n->target, m->target) && same_slice(n->reason, m->reason));
    DEMAND(m->host.size == 0 || same_slice(n->host, m->host));
    check_headers(m, n);
    check_phase(&again_one);
}

/* ---- one input -------------------------------------------------------------------------------------------------- */

static size_t read_pieces(reading *r, const setting *s, const char *bytes, size_t size, uint32_t draw)
{
    size_t at = 0, piece;

    begin(r, s);
    while (at < size && goes_on(r)) {
        draw = draw * 1664525u + 1013904223u;
        piece = draw >> 30 == 0 ? 1 : 1 + (draw >> 8) % (draw >> 30 == 1 ? 8 : 200);
        at += feed(r, bytes + at, piece < size - at ? piece : size - at);
    }
    return at;
}

/* Returns the bytes of the message, 0: no more of them can follow. */
static size_t one_message(const setting *s, const char *bytes, size_t size, uint32_t draw)
{
    size_t used, other;

    begin(&whole_one, s);
    used = feed(&whole_one, bytes, size);
    check_phase(&whole_one);
    other = read_pieces(&pieces_one, s, bytes, size, draw);
    check_same(&whole_one, &pieces_one);
    if (whole_one.m.phase == PX_WHOLE) DEMAND(used == other);
    if (whole_one.m.phase == PX_BODY || whole_one.m.phase == PX_WHOLE) {
        check_written(&whole_one, *s, false, draw & 1);
        if (s->kind == PX_RESPONSE) check_written(&whole_one, *s, true, draw & 1);
    }
    if (whole_one.m.phase == PX_WHOLE) {
        DEMAND(read_pieces(&pieces_one, s, bytes, used, draw + 1) == used); /* nobody behind it */
        check_same(&whole_one, &pieces_one);
        return used;
    }
    px_message_close(&whole_one.m);
    DEMAND(whole_one.m.phase == (pieces_one.m.phase == PX_BODY && pieces_one.m.until_close ? PX_WHOLE : PX_BROKEN));
    check_phase(&whole_one);
    return 0;
}

static void asked(px_message *m, const char *text)
{
    px_limits limits;

    px_limits_default(&limits);
    px_message_begin(m, PX_REQUEST, &limits, NULL);
    px_message_feed(m, text, strlen(text), NULL, NULL);
    DEMAND(m->phase == PX_WHOLE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data + 2;
    size_t left, used;
    setting s = { PX_REQUEST, { 0, 0, 0, 0 }, NULL };

    if (size < 2) return 0;
    asked(&get_request, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    asked(&head_request, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    px_limits_default(&s.limits);
    s.kind = data[0] & 1 ? PX_RESPONSE : PX_REQUEST;
    if (s.kind == PX_RESPONSE) s.asked = data[0] & 2 ? &head_request : &get_request;
    if (data[0] & 4) s.limits.head_bytes = 64 + data[1];
    if (data[0] & 8) s.limits.headers = 3;
    if (data[0] & 16) s.limits.body_bytes = 20;
    if (data[0] & 32) s.limits.target_bytes = 10;
    for (left = size - 2; left > 0; left -= used) {
        used = one_message(&s, bytes, left, data[1]);
        if (used == 0) break;
        bytes += used;
    }
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char *const texts[] = {
        "\0" "1GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nCookie: a=b\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPUT /x HTTP/1.1\r\nHost: a\r\n"
        "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\n",
        "\0" "2GET http://b?x HTTP/1.1\r\nHost: a\r\nConnection: x-y, close\r\nX-Y: 1\r\nX_Z: 2\r\nVia: 1.1 v\r\n"
        "X-Forwarded-For: 1.2.3.4\r\nUpgrade: h2c\r\n\r\n",
        "\0" "3OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\r\nHEAD / HTTP/1.0\r\n\r\n",
        "\0" "4POST / HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        "\1" "5HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a\r\n\r\nabHTTP/1.0 404 Not Found\r\n\r\nall of it",
        "\1" "6HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "\1" "7HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
        "HTTP/1.1 204 \r\nConnection: close, x\r\nX: y\r\n\r\n",
        "\3" "8HTTP/1.1 200\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\74" "9GET /a HTTP/1.1\r\nHost: a\r\nB: c\r\nContent-Length: 20\r\n\r\n01234567890123456789",
    };
    static const size_t kinds = sizeof texts / sizeof *texts;
    size_t n;

    if (i < 0 || i >= (int)kinds) return 0;
    n = 2 + strlen(texts[i] + 2);
    if (n > room) n = room;
    memcpy(buffer, texts[i], n);
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
