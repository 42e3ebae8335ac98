/* message.h - HTTP/1.1 messages as the proxy takes them in and passes them on; knows nothing of sockets

   What a peer sends is read by http_parser; what that lets through and a proxy must not is refused here: two lengths, a
   length beside chunks, a coding other than chunked, bare line feeds, folded lines, blanks before a colon, control
   characters, a request without one Host, more than the limits allow. A message that was taken in is written anew from
   its parts, so that the next hop cannot read it otherwise than it was read here.

       px_message_begin(&m, PX_REQUEST, &limits, NULL);
       used = px_message_feed(&m, bytes, size, body, self);       as often as bytes come
       m.phase                                                    PX_HEAD, PX_BODY, PX_WHOLE, PX_BROKEN (m.status why)

   feed stops after the last byte of a message: what follows (a pipelined request) is the caller's to keep. Slices point
   into the message and are valid until the next begin. Owner: one thread at a time per message. */

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
    uint16_t name_at, name_size, value_at, value_size; /* in head[] */
} px_header;

typedef struct px_message {
    px_kind kind;
    px_phase phase;
    int32_t status;       /* of a response; of a request that is PX_BROKEN: what to answer, 400 to 505 */
    const char *why;      /* PX_BROKEN: a few words, for the log */
    int32_t method;       /* request: enum http_method */
    px_slice target;      /* request */
    int32_t minor;        /* HTTP/1.minor */
    bool keep_alive;      /* may another message follow on this connection */
    bool chunked;         /* the body comes in chunks */
    bool until_close;     /* response: the body ends with the connection; px_message_close says when */
    bool expects;         /* request: Expect: 100-continue */
    int64_t length;       /* Content-Length, -1: none */
    int64_t body;         /* bytes of body so far */
    int32_t headers;
    px_header header[PX_HEADERS_MOST];
    int32_t used;         /* bytes of head[] */
    char head[PX_HEAD_MOST];
    /* the rest belongs to message.c */
    http_parser parser;
    px_limits limits;
    const struct px_message *asked; /* response: the request it answers (HEAD has no body) */
    int32_t seen;         /* bytes of the head so far, as they came */
    int32_t state;
} px_message;

typedef void (*px_body_fn)(void *self, const char *bytes, size_t size);

void px_limits_default(px_limits *limits); /* 16,384 bytes, 8,192, 100, 1 GiB */
/* asked: for a response, the request it answers; else NULL. */
void px_message_begin(px_message *m, px_kind kind, const px_limits *limits, const px_message *asked);
/* How many of the bytes belong to this message; all of them unless it is PX_WHOLE or PX_BROKEN afterwards. Interim
   responses (1xx) are skipped. */
size_t px_message_feed(px_message *m, const char *bytes, size_t size, px_body_fn body, void *self);
/* The peer closed: PX_WHOLE if that is how this message ends, else PX_BROKEN. */
void px_message_close(px_message *m);

/* Value of the first header of that name (any case), empty and NULL if there is none. */
px_slice px_message_header(const px_message *m, const char *name);

/* Heads for the next hop into to[size], hop-by-hop headers left out (RFC 9110 7.6.1, those named by Connection too).
   Bytes written, or -1 if they do not fit. A request gets X-Forwarded-For (client appended), and Via; a body is passed
   on as it came, with its length or in chunks. `close`: with "Connection: close", else as HTTP/1.1 keeps alive. */
int32_t px_request_write(const px_message *m, const char *client, const char *host, bool close, char *to, int32_t size);
int32_t px_response_write(const px_message *m, bool http10, bool close, char *to, int32_t size);
/* A whole answer of our own, with a line of text as its body. */
int32_t px_answer_write(int32_t status, bool head_only, bool close, char *to, int32_t size);
const char *px_status_words(int32_t status);

#endif
