/* message.c - see message.h

   A head is gathered in head[] while scan_lines looks at every byte; once it is whole, its first line and headers are
   judged, and http_parser reads it from there: it says how the body is framed and whether the connection is kept. The
   bytes of a body go through scan_chunks, where there are chunks, and then through the parser. Which byte is the last
   of a message is decided here; the parser must find the same. What is refused depends on the bytes alone, not on the
   pieces in which they come. */

#include "message.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    INTERIMS_MOST = 16, /* 1xx before an answer */
    NAMED_MOST = 32,    /* headers that Connection may name */
    DIGITS_MOST = 15,   /* of a chunk's or a body's size: stays far below 2^63 */
    EXTENSION_MOST = 256
};

/* Where in a message the next byte is. */
enum {
    START,      /* before the first line */
    START_LF,
    LINE,       /* the first line */
    LINE_LF,
    NAME_FIRST, /* a header, or the empty line */
    NAME,
    VALUE,
    VALUE_LF,
    END_LF,
    END,
    SIZE,       /* chunks */
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF
};

/* What a header is to a proxy. */
enum {
    PLAIN,      /* passed on */
    KEPT,       /* passed on even if Connection names it */
    HOP,        /* for us alone */
    HOST,
    LENGTH,
    CODING,
    CONNECTION,
    EXPECT,
    FORWARDED_FOR
};

static const struct { const char *name; int32_t size; uint16_t what; } known[] = {
    { "te", 2, HOP },
    { "via", 3, KEPT },
    { "host", 4, HOST },
    { "proxy", 5, HOP }, /* CGI would make HTTP_PROXY of it */
    { "expect", 6, EXPECT },
    { "trailer", 7, HOP },
    { "upgrade", 7, HOP },
    { "forwarded", 9, KEPT },
    { "x-real-ip", 9, KEPT },
    { "connection", 10, CONNECTION },
    { "keep-alive", 10, HOP },
    { "content-type", 12, KEPT },
    { "content-length", 14, LENGTH },
    { "http2-settings", 14, HOP },
    { "x-forwarded-for", 15, FORWARDED_FOR },
    { "content-encoding", 16, KEPT },
    { "proxy-connection", 16, HOP },
    { "transfer-encoding", 17, CODING },
    { "proxy-authenticate", 18, HOP },
    { "proxy-authorization", 19, HOP },
};

/* ---- characters ------------------------------------------------------------------------------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_plain(char c) /* of names that are passed on */
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || is_digit(c) || c == '-';
}

static bool is_token(char c) { return is_plain(c) || (c && strchr("!#$%&'*+.^_`|~", c)); }

static bool is_text(char c) /* of values: no control character but the tab */
{
    unsigned char u = (unsigned char)c;

    return u >= 32 ? u != 127 : c == '\t';
}

static bool is_target(char c) { return c > 32 && c < 127 && c != '#'; }

static int32_t hex_digit(char c)
{
    if (is_digit(c)) return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static px_slice slice(const char *text, int32_t size)
{
    px_slice s = { text, size };

    return s;
}

static bool same(px_slice s, const char *word) /* any case */
{
    return (size_t)s.size == strlen(word) && strncasecmp(s.text, word, (size_t)s.size) == 0;
}

static px_slice trimmed(px_slice s)
{
    while (s.size && (s.text[0] == ' ' || s.text[0] == '\t')) s = slice(s.text + 1, s.size - 1);
    while (s.size && (s.text[s.size - 1] == ' ' || s.text[s.size - 1] == '\t')) s.size--;
    return s;
}

/* Takes what stands before the next `mark` off a list; false: it is over. */
static bool next_part(px_slice *list, char mark, px_slice *part)
{
    const char *end;

    if (!list->text) return false;
    end = list->size ? memchr(list->text, mark, (size_t)list->size) : NULL;
    *part = trimmed(slice(list->text, end ? (int32_t)(end - list->text) : list->size));
    *list = end ? slice(end + 1, list->size - (int32_t)(end + 1 - list->text)) : slice(NULL, 0);
    return true;
}

/* ---- beginning and failing --------------------------------------------------------------------------------------- */

void px_limits_default(px_limits *limits)
{
    limits->head_bytes = PX_HEAD_MOST;
    limits->target_bytes = 8192;
    limits->headers = 100;
    limits->body_bytes = (int64_t)1 << 30;
}

static int32_t at_most(int32_t value, int32_t most) { return value < most ? value : most; }

/* Before a head's first byte: of the message, or of what follows an interim answer. */
static void head_begin(px_message *m)
{
    m->phase = PX_HEAD;
    m->status = 0;
    m->why = NULL;
    m->method = m->minor = m->headers = m->used = 0;
    m->target = m->host = m->reason = slice(NULL, 0);
    m->keep_alive = m->chunked = m->until_close = m->bodiless = m->expects = m->done = false;
    m->length = -1;
    m->body = m->chunk = 0;
    m->line_at = m->count = 0;
    m->state = m->kind == PX_REQUEST ? START : LINE;
    http_parser_init(&m->parser, m->kind == PX_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    m->parser.data = m;
}

void px_message_begin(px_message *m, px_kind kind, const px_limits *limits, const px_message *asked)
{
    m->kind = kind;
    m->to_head = asked && asked->method == HTTP_HEAD;
    m->limits = *limits;
    m->limits.head_bytes = at_most(limits->head_bytes, PX_HEAD_MOST);
    m->limits.headers = at_most(limits->headers, PX_HEADERS_MOST);
    m->interims = 0;
    head_begin(m);
}

static bool broken(px_message *m, int32_t status, const char *why)
{
    m->phase = PX_BROKEN;
    m->keep_alive = false;
    m->status = m->kind == PX_REQUEST ? status : 502;
    m->why = why;
    return false;
}

static bool parser_broken(px_message *m)
{
    enum http_errno error = HTTP_PARSER_ERRNO(&m->parser);

    if (error == HPE_OK || error == HPE_CB_headers_complete) return broken(m, 400, "can be read in two ways");
    return broken(m, error == HPE_INVALID_METHOD ? 501 : 400, http_errno_description(error));
}

/* ---- the first line ---------------------------------------------------------------------------------------------- */

static bool version_check(px_message *m, const char *text) /* 8 bytes */
{
    if (memcmp(text, "HTTP/", 5) != 0 || !is_digit(text[5]) || text[6] != '.' || !is_digit(text[7])) {
        return broken(m, 400, "no HTTP version where it should be");
    }
    m->minor = text[7] - '0';
    if (text[5] == '1' && m->minor <= 1) return true;
    return broken(m, 505, "neither HTTP/1.0 nor HTTP/1.1");
}

static bool host_check(px_slice host)
{
    int32_t i = 0, port = 0;

    if (host.size && host.text[0] == '[') {
        for (i = 1; i < host.size && (hex_digit(host.text[i]) >= 0 || strchr(":.", host.text[i])); i++) {}
        if (i < 4 || i == host.size || host.text[i++] != ']') return false;
    } else {
        while (i < host.size && (is_plain(host.text[i]) || strchr("._~%", host.text[i]))) i++;
        if (i == 0) return false;
    }
    if (i == host.size) return true;
    if (host.text[i++] != ':' || host.size - i > 5) return false;
    for (; i < host.size; i++) {
        if (!is_digit(host.text[i])) return false;
        port = port * 10 + (host.text[i] - '0');
    }
    return port <= 65535;
}

/* http://authority/path: from here on they are two. Bytes of the scheme, which nobody needs, make room for a '/'. */
static bool target_split(px_message *m)
{
    enum { SCHEME = 7 };
    char *host = m->head + (m->target.text - m->head) + SCHEME;
    int32_t rest = m->target.size - SCHEME, size = 0;

    while (size < rest && host[size] != '/' && host[size] != '?') size++;
    m->host = slice(host, size);
    m->target = slice(host + size, rest - size);
    if (!host_check(m->host)) return broken(m, 400, "the target's host is none");
    if (m->target.size && m->target.text[0] == '/') return true;
    memmove(host - 1, host, (size_t)size);
    host[size - 1] = '/';
    m->host.text--;
    m->target = slice(host + size - 1, rest - size + 1);
    return true;
}

static bool target_check(px_message *m, px_slice method)
{
    int32_t i;

    if (m->target.size > m->limits.target_bytes) return broken(m, 414, "the target is too long");
    for (i = 0; i < m->target.size; i++) {
        if (!is_target(m->target.text[i])) return broken(m, 400, "the target holds what no target may");
    }
    if (m->target.size && m->target.text[0] == '/') return true;
    if (m->target.size == 1 && m->target.text[0] == '*' && same(method, "OPTIONS")) return true;
    if (m->target.size > 7 && strncasecmp(m->target.text, "http://", 7) == 0) return true;
    return broken(m, 400, "the target is neither a path nor of http://");
}

/* "GET /path HTTP/1.1" */
static bool request_line(px_message *m, px_slice line)
{
    px_slice method = line;
    int32_t i;

    for (i = 0; i < line.size && is_token(line.text[i]); i++) {}
    method.size = i;
    if (i == 0 || i == line.size || line.text[i] != ' ') return broken(m, 400, "the first line is no request");
    if (line.size < i + 11 || line.text[line.size - 9] != ' ') return broken(m, 400, "a request without a version");
    if (!version_check(m, line.text + line.size - 8)) return false;
    if (same(method, "CONNECT") || same(method, "TRACE")) return broken(m, 501, "a method that is not served");
    m->target = slice(line.text + i + 1, line.size - 9 - (i + 1));
    return target_check(m, method);
}

/* "HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200" */
static bool status_line(px_message *m, px_slice line)
{
    const char *t = line.text;

    if (line.size < 12) return broken(m, 502, "the first line is no answer");
    if (!version_check(m, t)) return false;
    if (t[8] != ' ' || t[9] < '1' || !is_digit(t[9]) || !is_digit(t[10]) || !is_digit(t[11])) {
        return broken(m, 502, "no status where it should be");
    }
    if (line.size > 12 && t[12] != ' ') return broken(m, 502, "a status that is no number");
    m->status = (t[9] - '0') * 100 + (t[10] - '0') * 10 + (t[11] - '0');
    if (line.size > 13) m->reason = slice(t + 13, line.size - 13);
    return m->status != 101 || broken(m, 502, "a change of protocol that nobody asked for");
}

static bool first_line(px_message *m, int32_t end)
{
    px_slice line = slice(m->head + m->line_at, end - m->line_at);

    return m->kind == PX_REQUEST ? request_line(m, line) : status_line(m, line);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static void name_begin(px_message *m, size_t at)
{
    if (m->phase != PX_HEAD) return; /* a trailer */
    if (m->headers == m->limits.headers) broken(m, 431, "too many headers");
    else m->header[m->headers].name_at = (uint16_t)at;
}

static void name_end(px_message *m, size_t at)
{
    px_header *h = &m->header[m->headers];

    if (m->phase != PX_HEAD) return;
    h->name_size = (uint16_t)(at - h->name_at);
    h->value_at = (uint16_t)(at + 1);
}

static void value_end(px_message *m, size_t at)
{
    px_header *h = &m->header[m->headers];
    px_slice value;

    if (m->phase != PX_HEAD) return;
    value = trimmed(slice(m->head + h->value_at, (int32_t)(at - h->value_at)));
    h->value_at = (uint16_t)(value.text - m->head);
    h->value_size = (uint16_t)value.size;
    m->headers++;
}

static void expect_byte(px_message *m, char c, char expected, int32_t next)
{
    if (c == expected) m->state = next;
    else broken(m, 400, expected == '\n' ? "a carriage return alone" : "a control character or a line feed alone");
}

static void line_begins(px_message *m, char c)
{
    if (c == '\r') m->state = END_LF;
    else if (is_token(c)) m->state = NAME;
    else broken(m, 400, c == ' ' || c == '\t' ? "a folded line" : "a header that does not begin with a name");
}

/* Lines of a head, or of trailers: from at until they end, the bytes do, or one is wrong. */
static size_t scan_lines(px_message *m, const char *b, size_t at, size_t end)
{
    px_phase phase = m->phase;

    while (at < end && m->phase == phase && m->state != END) {
        switch (m->state) {
        case START:
            if (b[at] != '\r') m->state = LINE;
            else m->state = START_LF, at++;
            break;
        case START_LF:
            expect_byte(m, b[at++], '\n', LINE);
            m->line_at = (int32_t)at;
            break;
        case LINE:
            while (at < end && is_text(b[at])) at++;
            if (at < end) expect_byte(m, b[at++], '\r', LINE_LF);
            break;
        case LINE_LF:
            expect_byte(m, b[at++], '\n', NAME_FIRST);
            if (m->phase == phase) first_line(m, (int32_t)at - 2);
            break;
        case NAME_FIRST:
            line_begins(m, b[at]);
            if (m->state == NAME) name_begin(m, at);
            at++;
            break;
        case NAME:
            while (at < end && is_token(b[at])) at++;
            if (at == end) break;
            if (b[at] == ':') m->state = VALUE, name_end(m, at);
            else broken(m, 400, "a header's name with a blank or worse");
            at++;
            break;
        case VALUE:
            while (at < end && is_text(b[at])) at++;
            if (at == end) break;
            if (b[at] == '\r') value_end(m, at);
            expect_byte(m, b[at++], '\r', VALUE_LF);
            break;
        case VALUE_LF: expect_byte(m, b[at++], '\n', NAME_FIRST); break;
        default: expect_byte(m, b[at++], '\n', END); break;
        }
    }
    return at;
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

static px_slice name_of(const px_message *m, const px_header *h) { return slice(m->head + h->name_at, h->name_size); }

static px_slice value_of(const px_message *m, const px_header *h)
{
    return slice(m->head + h->value_at, h->value_size);
}

static uint16_t what_is(px_slice name)
{
    size_t i;

    for (i = 0; i < sizeof known / sizeof known[0] && known[i].size <= name.size; i++) {
        if (known[i].size == name.size && strncasecmp(name.text, known[i].name, (size_t)name.size) == 0) {
            return known[i].what;
        }
    }
    return name.size > 12 && strncasecmp(name.text, "x-forwarded-", 12) == 0 ? KEPT : PLAIN;
}

/* What a Connection header names is for us alone. */
static bool leave_out(px_message *m, px_slice list)
{
    px_slice name;
    int32_t i;

    while (next_part(&list, ',', &name)) {
        if (name.size == 0 || same(name, "close") || same(name, "keep-alive")) continue;
        if (m->count++ == NAMED_MOST) return broken(m, 400, "Connection names too many headers");
        for (i = 0; i < m->headers; i++) {
            px_header *h = &m->header[i];
            if (h->what == PLAIN && h->name_size == name.size &&
                strncasecmp(m->head + h->name_at, name.text, (size_t)name.size) == 0) {
                h->what = HOP;
            }
        }
    }
    return true;
}

static bool length_read(px_message *m, px_slice value)
{
    int32_t i;

    if (m->length >= 0) return broken(m, 400, "two lengths");
    if (value.size == 0) return broken(m, 400, "a length that is no number");
    m->length = 0;
    for (i = 0; i < value.size; i++) {
        if (!is_digit(value.text[i])) return broken(m, 400, "a length that is no number");
        if (i == DIGITS_MOST) return broken(m, m->kind == PX_REQUEST ? 413 : 502, "a length beyond all bounds");
        m->length = m->length * 10 + (value.text[i] - '0');
    }
    return true;
}

static bool coding_read(px_message *m, px_slice value)
{
    if (m->chunked) return broken(m, 400, "two transfer codings");
    if (m->minor == 0) return broken(m, 400, "a transfer coding in HTTP/1.0");
    if (!same(value, "chunked")) return broken(m, 501, "a transfer coding other than chunked");
    m->chunked = true;
    return true;
}

static bool host_read(px_message *m, px_slice value, int32_t *hosts)
{
    if ((*hosts)++) return broken(m, 400, "two hosts");
    if (!host_check(value)) return broken(m, 400, "a host that is none");
    m->host = value;
    return true;
}

static bool header_read(px_message *m, px_header *h, int32_t *hosts)
{
    px_slice value = value_of(m, h);

    h->what = what_is(name_of(m, h));
    if (h->what == LENGTH) return length_read(m, value);
    if (h->what == CODING) return coding_read(m, value);
    if (m->kind == PX_RESPONSE) return true;
    if (h->what == HOST) return host_read(m, value, hosts);
    if (h->what != EXPECT) return true;
    m->expects = true;
    return same(value, "100-continue") || broken(m, 417, "expects what is not served");
}

static bool headers_read(px_message *m)
{
    int32_t i, hosts = 0;

    m->count = 0;
    for (i = 0; i < m->headers; i++) {
        if (!header_read(m, &m->header[i], &hosts)) return false;
    }
    for (i = 0; i < m->headers; i++) {
        if (m->header[i].what == CONNECTION && !leave_out(m, value_of(m, &m->header[i]))) return false;
    }
    if (m->chunked && m->length >= 0) return broken(m, 400, "a length beside chunks");
    if (m->kind == PX_RESPONSE) return true;
    if (m->length > m->limits.body_bytes) return broken(m, 413, "the body is too large");
    if (hosts == 0 && m->minor > 0) return broken(m, 400, "a request without a host");
    m->expects = m->expects && m->minor > 0 && (m->chunked || m->length > 0);
    return true;
}

/* ---- the parser -------------------------------------------------------------------------------------------------- */

/* Its reading of the head beside ours. 1: there is no body. */
static int on_head(http_parser *p)
{
    px_message *m = p->data;
    uint64_t length = m->length >= 0 ? (uint64_t)m->length : UINT64_MAX;

    if (p->http_major != 1 || p->http_minor != m->minor) return -1;
    if (m->kind == PX_RESPONSE && p->status_code != (unsigned)m->status) return -1;
    if (((p->flags & F_CHUNKED) != 0) != m->chunked || p->content_length != length) return -1;
    m->keep_alive = http_should_keep_alive(p) != 0;
    return m->bodiless;
}

static int on_body(http_parser *p, const char *bytes, size_t size)
{
    px_message *m = p->data;

    m->body += (int64_t)size;
    if (m->body_fn) m->body_fn(m->self, bytes, size);
    return 0;
}

static int on_whole(http_parser *p)
{
    px_message *m = p->data;

    if (m->bodiless) m->keep_alive = http_should_keep_alive(p) != 0; /* it did not know that on_head */
    m->done = true;
    return 0;
}

static bool parse(px_message *m, const char *bytes, size_t size)
{
    static const http_parser_settings settings = { .on_headers_complete = on_head, .on_body = on_body,
                                                   .on_message_complete = on_whole };

    if (http_parser_execute(&m->parser, &settings, bytes, size) == size &&
        HTTP_PARSER_ERRNO(&m->parser) == HPE_OK) {
        return true;
    }
    return parser_broken(m);
}

/* All bytes of the message are there: says the parser so too? */
static void whole(px_message *m)
{
    if (m->done) m->phase = PX_WHOLE;
    else parser_broken(m);
}

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

static bool method_read(px_message *m)
{
    const char *name = http_method_str((enum http_method)m->parser.method);
    size_t size = strlen(name);

    m->method = (int32_t)m->parser.method;
    if (memcmp(m->head + m->line_at, name, size) != 0 || m->head[(size_t)m->line_at + size] != ' ') {
        return broken(m, 400, "can be read in two ways");
    }
    if (m->target.text[0] == '/' || m->target.text[0] == '*') return true;
    return target_split(m);
}

/* The head is there and keeps to the rules: what follows it? */
static void head_whole(px_message *m)
{
    bool none = m->kind == PX_RESPONSE && (m->status < 200 || m->status == 204);

    if (!headers_read(m)) return;
    m->bodiless = m->kind == PX_RESPONSE && (none || m->to_head || m->status == 304);
    m->until_close = m->kind == PX_RESPONSE && !m->bodiless && !m->chunked && m->length < 0;
    if (!parse(m, m->head + m->line_at, (size_t)(m->used - m->line_at))) return;
    if (m->kind == PX_REQUEST && !method_read(m)) return;
    if (m->status >= 100 && m->status < 200) {
        if (m->interims++ == INTERIMS_MOST) broken(m, 502, "too many interim answers");
        else head_begin(m);
        return;
    }
    if (none && (m->chunked || m->length > 0)) m->keep_alive = false; /* who knows what it sends after it */
    if (m->kind == PX_RESPONSE && !m->bodiless && m->length > m->limits.body_bytes) {
        broken(m, 502, "the body is too large");
        return;
    }
    m->phase = PX_BODY;
    m->state = SIZE;
    m->count = 0;
    if (m->bodiless || (!m->until_close && !m->chunked && m->length <= 0)) whole(m);
}

static size_t take_head(px_message *m, const char *bytes, size_t size)
{
    size_t from = (size_t)m->used, room = (size_t)m->limits.head_bytes - from, to;

    if (size > room) size = room;
    memcpy(m->head + from, bytes, size);
    to = scan_lines(m, m->head, from, from + size);
    m->used = (int32_t)to;
    if (m->phase == PX_BROKEN) return to - from;
    if (m->state == END) head_whole(m);
    else if (m->used == m->limits.head_bytes) {
        if (m->state <= LINE_LF) broken(m, 414, "the first line is too long");
        else broken(m, 431, "the head is too large");
    }
    return to - from;
}

static void size_digit(px_message *m, char c)
{
    int32_t digit = hex_digit(c);

    if (digit >= 0 && m->count < DIGITS_MOST) m->chunk = m->chunk * 16 + digit, m->count++;
    else if (digit >= 0) broken(m, 413, "a chunk beyond all bounds");
    else if (m->count == 0) broken(m, 400, "a chunk without a size");
    else if (c == ';') m->state = EXTENSION, m->count = 0;
    else expect_byte(m, c, '\r', SIZE_LF);
}

static void size_known(px_message *m, int64_t body)
{
    m->count = 0;
    if (m->phase == PX_BROKEN) return;
    if (m->chunk == 0) m->state = NAME_FIRST;
    else if (m->chunk > m->limits.body_bytes - body) broken(m, 413, "the body is too large");
}

/* How many bytes belong to the chunks and their trailers; body: bytes of body before them. */
static size_t scan_chunks(px_message *m, const char *b, size_t size)
{
    int64_t body = m->body;
    size_t at = 0, step;

    while (at < size && m->phase == PX_BODY && m->state != END) {
        switch (m->state) {
        case SIZE: size_digit(m, b[at++]); break;
        case EXTENSION:
            if (m->count++ == EXTENSION_MOST) broken(m, 400, "a chunk's extension is too long");
            else if (!is_text(b[at])) expect_byte(m, b[at], '\r', SIZE_LF);
            at++;
            break;
        case SIZE_LF:
            expect_byte(m, b[at++], '\n', DATA);
            size_known(m, body);
            break;
        case DATA:
            step = (uint64_t)m->chunk < size - at ? (size_t)m->chunk : size - at;
            at += step;
            body += (int64_t)step;
            m->chunk -= (int64_t)step;
            if (m->chunk == 0) m->state = DATA_CR;
            break;
        case DATA_CR: expect_byte(m, b[at++], '\r', DATA_LF); break;
        case DATA_LF: expect_byte(m, b[at++], '\n', SIZE); break;
        default:
            step = (size_t)(m->limits.head_bytes - m->count);
            step = scan_lines(m, b, at, step < size - at ? at + step : size) - at;
            at += step;
            m->count += (int32_t)step;
            if (m->phase == PX_BODY && m->state != END && m->count == m->limits.head_bytes) {
                broken(m, 431, "the trailers are too large");
            }
            break;
        }
    }
    return at;
}

static size_t take_body(px_message *m, const char *bytes, size_t size)
{
    int64_t left = (m->until_close ? m->limits.body_bytes : m->length) - m->body;
    size_t read;

    if (m->chunked) {
        size = scan_chunks(m, bytes, size);
        /* a byte that was refused is not for the parser, and no bytes at all would be the end to it */
        read = m->phase == PX_BROKEN ? size - 1 : size;
        if (read && !parse(m, bytes, read)) return size;
        if (m->phase == PX_BODY && m->state == END) whole(m);
        return size;
    }
    if (m->until_close && left == 0) broken(m, 502, "the body is too large");
    if ((uint64_t)left < size) size = (size_t)left;
    if (size && parse(m, bytes, size) && !m->until_close && m->body == m->length) whole(m);
    return size;
}

size_t px_message_feed(px_message *m, const char *bytes, size_t size, px_body_fn body, void *self)
{
    size_t used = 0;

    m->body_fn = body;
    m->self = self;
    while (used < size && (m->phase == PX_HEAD || m->phase == PX_BODY)) {
        used += m->phase == PX_HEAD ? take_head(m, bytes + used, size - used)
                                    : take_body(m, bytes + used, size - used);
    }
    return used;
}

void px_message_close(px_message *m)
{
    if (m->phase == PX_WHOLE || m->phase == PX_BROKEN) return;
    if (m->phase == PX_BODY && m->until_close) {
        m->body_fn = NULL;
        if (parse(m, NULL, 0)) whole(m);
        return;
    }
    broken(m, 400, m->phase == PX_HEAD && m->used == 0 ? "closed before it began" : "closed in the middle");
}

/* ---- looking things up ------------------------------------------------------------------------------------------- */

px_slice px_message_header(const px_message *m, const char *name)
{
    size_t size = strlen(name);
    int32_t i;

    for (i = 0; i < m->headers; i++) {
        const px_header *h = &m->header[i];
        if (h->name_size == size && strncasecmp(m->head + h->name_at, name, size) == 0) return value_of(m, h);
    }
    return slice(NULL, 0);
}

px_slice px_message_cookie(const px_message *m, const char *name)
{
    px_slice list, part;
    int32_t i, size = (int32_t)strlen(name);

    for (i = 0; i < m->headers; i++) {
        if (!same(name_of(m, &m->header[i]), "cookie")) continue;
        list = value_of(m, &m->header[i]);
        while (next_part(&list, ';', &part)) {
            if (part.size > size && memcmp(part.text, name, (size_t)size) == 0 && part.text[size] == '=') {
                return slice(part.text + size + 1, part.size - size - 1);
            }
        }
    }
    return slice(NULL, 0);
}

const char *px_status_words(int32_t status) { return http_status_str((enum http_status)status); }

/* ---- writing ----------------------------------------------------------------------------------------------------- */

typedef struct out {
    char *to;
    int32_t used, size;
    bool full;
} out;

static void put(out *o, const char *text, int32_t size)
{
    if (o->full || size > o->size - o->used) {
        o->full = true;
        return;
    }
    if (size > 0) memcpy(o->to + o->used, text, (size_t)size);
    o->used += size;
}

static void put_text(out *o, const char *text) { put(o, text, (int32_t)strlen(text)); }

static void put_slice(out *o, px_slice s) { put(o, s.text, s.size); }

static void put_number(out *o, int64_t number)
{
    char text[24];
    int32_t at = (int32_t)sizeof text;

    do text[--at] = (char)('0' + number % 10); while ((number /= 10) > 0);
    put(o, text + at, (int32_t)sizeof text - at);
}

static int32_t written(const out *o) { return o->full ? -1 : o->used; }

static void put_framing(out *o, const px_message *m, px_framing framing)
{
    if (framing == PX_CHUNKS) put_text(o, "Transfer-Encoding: chunked\r\n");
    else if (framing == PX_LENGTH || (m->bodiless && m->length >= 0 && m->status != 204)) {
        put_text(o, "Content-Length: ");
        put_number(o, m->length);
        put_text(o, "\r\n");
    }
}

static bool passes_on(const px_message *m, const px_header *h)
{
    px_slice name = name_of(m, h);
    int32_t i;

    if (h->what == HOP || h->what == LENGTH || h->what == CODING || h->what == CONNECTION) return false;
    if (m->kind == PX_RESPONSE) return true;
    if (h->what != PLAIN && h->what != KEPT) return false;
    for (i = 0; i < name.size; i++) {
        if (!is_plain(name.text[i])) return false;
    }
    return true;
}

static void put_headers(out *o, const px_message *m)
{
    int32_t i;

    for (i = 0; i < m->headers; i++) {
        if (!passes_on(m, &m->header[i])) continue;
        put_slice(o, name_of(m, &m->header[i]));
        put_text(o, ": ");
        put_slice(o, value_of(m, &m->header[i]));
        put_text(o, "\r\n");
    }
}

static void put_forwarded_for(out *o, const px_message *m, const char *client)
{
    int32_t i;

    put_text(o, "X-Forwarded-For: ");
    for (i = 0; i < m->headers; i++) {
        if (m->header[i].what != FORWARDED_FOR || m->header[i].value_size == 0) continue;
        put_slice(o, value_of(m, &m->header[i]));
        put_text(o, ", ");
    }
    put_text(o, client);
    put_text(o, "\r\n");
}

px_framing px_message_framing(const px_message *m, bool http10)
{
    if (m->bodiless) return PX_NO_BODY;
    if (m->length >= 0) return PX_LENGTH;
    if (m->kind == PX_REQUEST) return m->chunked ? PX_CHUNKS : PX_NO_BODY;
    return http10 ? PX_UNTIL_CLOSE : PX_CHUNKS;
}

int32_t px_request_write(const px_message *m, const char *client, const char *host, bool close, char *to, int32_t size)
{
    out o = { to, 0, size, false };

    put_text(&o, http_method_str((enum http_method)m->method));
    put_text(&o, " ");
    put_slice(&o, m->target);
    put_text(&o, " HTTP/1.1\r\nHost: ");
    if (m->host.size) put_slice(&o, m->host);
    else put_text(&o, host);
    put_text(&o, "\r\n");
    put_headers(&o, m);
    put_framing(&o, m, px_message_framing(m, false));
    put_forwarded_for(&o, m, client);
    put_text(&o, m->minor ? "Via: 1.1 rllb\r\n" : "Via: 1.0 rllb\r\n");
    put_text(&o, close ? "Connection: close\r\n\r\n" : "\r\n");
    return written(&o);
}

int32_t px_response_write(const px_message *m, bool http10, bool close, char *to, int32_t size)
{
    px_framing framing = px_message_framing(m, http10);
    out o = { to, 0, size, false };

    put_text(&o, "HTTP/1.1 ");
    put_number(&o, m->status);
    put_text(&o, " ");
    put_slice(&o, m->reason);
    put_text(&o, "\r\n");
    put_headers(&o, m);
    put_framing(&o, m, framing);
    if (close || framing == PX_UNTIL_CLOSE) put_text(&o, "Connection: close\r\n");
    else if (http10) put_text(&o, "Connection: keep-alive\r\n");
    put_text(&o, "\r\n");
    return written(&o);
}

int32_t px_chunk_write(size_t bytes, char to[24])
{
    return (int32_t)snprintf(to, 24, bytes ? "%lx\r\n" : "%lx\r\n\r\n", (unsigned long)bytes);
}

int32_t px_answer_write(int32_t status, bool head_only, bool close, char *to, int32_t size)
{
    const char *words = px_status_words(status);
    out o = { to, 0, size, false };

    put_text(&o, "HTTP/1.1 ");
    put_number(&o, status);
    put_text(&o, " ");
    put_text(&o, words);
    if (status >= 200) {
        put_text(&o, "\r\nContent-Type: text/plain\r\nContent-Length: ");
        put_number(&o, (int64_t)strlen(words) + 1);
        if (status >= 502 && status <= 504) put_text(&o, "\r\nRetry-After: 1");
        if (close) put_text(&o, "\r\nConnection: close");
    }
    put_text(&o, "\r\n\r\n");
    if (status >= 200 && !head_only) {
        put_text(&o, words);
        put_text(&o, "\n");
    }
    return written(&o);
}
