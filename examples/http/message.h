/* message.h - HTTP/1.1 messages as the proxy takes them in and passes them on; knows nothing of sockets

   What a peer sends is read by http_parser, as the system's package builds it: not strict. What that lets through and a
   proxy must not is refused here, each byte before the parser sees it: bare line feeds, folded lines, blanks in and
   after names, control characters, chunks that do not end where they say, two lengths, a length beside chunks, a coding
   other than chunked, a request without one Host, more than the limits allow. Both readings must agree. A message that
   was taken in is written anew from its parts, so that the next hop cannot read it otherwise than it was read here.

       px_message_begin(&m, PX_REQUEST, &limits, NULL);
       used = px_message_feed(&m, bytes, size, body, self);       as often as bytes come
       m.phase                                                    PX_HEAD, PX_BODY, PX_WHOLE, PX_BROKEN (m.status why)

   feed stops after the last byte of a message: what follows (a pipelined request) is the caller's to keep. What a
   server sends after its answer nobody asked for: close. Slices point into the message and are valid until the next
   begin. Owner: one thread at a time per message.

   Decided here, where the standard (RFC 9110, 9112) leaves it open or a proxy must choose:
       HTTP/1.0 and 1.1 only, else 505. Methods: those of http_parser without CONNECT and TRACE, else 501.
       One empty line before a request is skipped. Targets: a path, "*" for OPTIONS, or http://authority, whose
       authority then is the Host whatever the Host line says; visible ASCII without '#'.
       Host: letters, digits, -._~% or [IPv6], and a port; exactly one in HTTP/1.1, at most one in 1.0.
       Chunks: 1 to 15 hex digits, then the line's end or ';' and up to 256 bytes of extension, ignored. Trailers are
       read, as strictly as headers and no more than head_bytes of them, and dropped.
       Upgrade is not supported: the header goes no further, a 101 is a broken answer. Expect: 100-continue is the
       proxy's to answer and goes no further either, another Expect is 417.
       A request's headers whose names hold more than letters, digits and '-' are not passed on: servers that turn '-'
       into '_' could not tell X_Forwarded_For from X-Forwarded-For.
       Connection can name headers to be left out, but not Host, lengths and codings, nor what a proxy before us may
       have added (Via, Forwarded, X-Forwarded-*, X-Real-IP); at most 32 names.
       X-Forwarded-For of a client is kept and appended to: its last entry alone is ours.
       OPTIONS with Max-Forwards is passed on unchanged. */

#ifndef PX_MESSAGE_H
#define PX_MESSAGE_H

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum px_kind { PX_REQUEST, PX_RESPONSE } px_kind;

typedef enum px_phase {
    PX_HEAD,  /* begin line and headers are not whole yet */
    PX_BODY,  /* the head is there, the body is not whole yet */
    PX_WHOLE,
    PX_BROKEN /* m.status and m.why say how; nothing of it may be passed on */
} px_phase;

/* How a body goes out. */
typedef enum px_framing { PX_NO_BODY, PX_LENGTH, PX_CHUNKS, PX_UNTIL_CLOSE } px_framing;

enum { PX_HEAD_MOST = 16384, PX_HEADERS_MOST = 128 };

typedef struct px_limits {
    int32_t head_bytes;  /* begin line and headers, at most PX_HEAD_MOST */
    int32_t target_bytes;
    int32_t headers;     /* at most PX_HEADERS_MOST */
    int64_t body_bytes;
} px_limits;

typedef struct px_slice {
    const char *text; /* not ended by a zero */
    int32_t size;
} px_slice;

typedef struct px_header {
    uint16_t name_at, name_size, value_at, value_size; /* in head[]; no blanks around */
    uint16_t what; /* message.c's: which of the headers that it knows */
} px_header;

typedef void (*px_body_fn)(void *self, const char *bytes, size_t size);

typedef struct px_message {
    px_kind kind;
    px_phase phase;
    int32_t status;       /* of a response; PX_BROKEN: what to answer, 400 to 505, for a response always 502 */
    const char *why;      /* PX_BROKEN: a few words, for the log */
    int32_t method;       /* request: enum http_method */
    px_slice target;      /* request: begins with '/', or is "*" */
    px_slice host;        /* request: whom it is for; empty only in HTTP/1.0 */
    px_slice reason;      /* response: the words after its status, may be empty */
    int32_t minor;        /* HTTP/1.minor */
    bool keep_alive;      /* may another message follow on this connection */
    bool chunked;         /* the body comes in chunks */
    bool until_close;     /* response: the body ends with the connection; px_message_close says when */
    bool bodiless;        /* response: to HEAD, 204 or 304: no body whatever its headers say */
    bool expects;         /* request: waits for "100 Continue" before it sends its body */
    int64_t length;       /* Content-Length, -1: none */
    int64_t body;         /* bytes of body so far */
    int32_t headers;
    px_header header[PX_HEADERS_MOST];
    int32_t used;         /* bytes of head[] */
    char head[PX_HEAD_MOST];
    /* the rest belongs to message.c */
    http_parser parser;
    px_limits limits;
    px_body_fn body_fn;
    void *self;
    int64_t chunk;        /* bytes of this chunk still to come */
    int32_t state, line_at, count, interims;
    bool to_head, done;
} px_message;

void px_limits_default(px_limits *limits); /* 16,384 bytes, 8,192, 100, 1 GiB */
/* asked: for a response, the request it answers (looked at now, not kept); else NULL. */
void px_message_begin(px_message *m, px_kind kind, const px_limits *limits, const px_message *asked);
/* How many of the bytes belong to this message; all of them unless it is PX_WHOLE or PX_BROKEN afterwards. Interim
   responses (1xx) are skipped. body may be NULL; it is called when the head is whole, before feed returns, also with
   what comes before a byte that breaks the message. */
size_t px_message_feed(px_message *m, const char *bytes, size_t size, px_body_fn body, void *self);
/* The peer closed: PX_WHOLE if that is how this message ends, else PX_BROKEN. */
void px_message_close(px_message *m);

/* Value of the first header of that name (any case), empty and NULL if there is none. */
px_slice px_message_header(const px_message *m, const char *name);
/* Value of the first cookie of that name (this very case) in a request, likewise. */
px_slice px_message_cookie(const px_message *m, const char *name);

/* How the body goes to the next hop, which the heads below announce; http10: to a client that knows no chunks. */
px_framing px_message_framing(const px_message *m, bool http10);
/* Heads for the next hop into to[size], hop-by-hop headers left out (RFC 9110 7.6.1, those named by Connection too).
   Bytes written, or -1 if they do not fit: PX_WRITE_MOST always do, with a client and host of up to 256 bytes. A
   request gets X-Forwarded-For (client appended), and Via; host is for one of HTTP/1.0 that names none. `close`: with
   "Connection: close", else as HTTP/1.1 keeps alive; PX_UNTIL_CLOSE says close by itself. */
enum { PX_WRITE_MOST = PX_HEAD_MOST + 1024 };
int32_t px_request_write(const px_message *m, const char *client, const char *host, bool close, char *to, int32_t size);
int32_t px_response_write(const px_message *m, bool http10, bool close, char *to, int32_t size);
/* The line before the data of a chunk (after which comes CR LF); 0 is the last one and the end of the body. */
int32_t px_chunk_write(size_t bytes, char to[24]);
/* A whole answer of our own, with a line of text as its body; 100: the interim answer that lets a body come. */
int32_t px_answer_write(int32_t status, bool head_only, bool close, char *to, int32_t size);
const char *px_status_words(int32_t status);

#endif
