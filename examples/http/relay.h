/* relay.h - what client.c and upstream.c share: one request on its way

   An exchange is one request and its answer, from the first byte taken in until the last one is handed to the kernel.
   client.c owns it; while it is being tried, upstream.c holds it too. The two call each other by the functions at the
   end and know nothing else of each other.

       client.c                                        upstream.c
       request's head is whole  -- start, more -->     picks a server, sends, tries another one if need be
       writes it to the client  <-- answer, fail --    the answer came, in part or whole; or nobody has one
       client went away         -- cancel ------->     gives the attempt up

   Nothing is allocated per request: exchanges, connections and blocks come from lists of what was used before. */

#ifndef PX_RELAY_H
#define PX_RELAY_H

#include "proxy.h"

enum {
    PX_READ_BYTES = 65536, /* what one read takes at most; the buffer is the loop's, reads are consumed at once */
    PX_BLOCK_BYTES = 16384,
    PX_SCRATCH_BYTES = PX_WRITE_MOST + 32, /* a head, and the line of a chunk */
    PX_MUCH = 131072, /* waiting to be written: the side it comes from is not read any more ... */
    PX_LITTLE = 32768 /* ... until no more than this is left */
};

/* ---- bytes that wait ---------------------------------------------------------------------------------------- */

typedef struct px_block {
    struct px_block *next;
    int32_t from, to;
    char bytes[PX_BLOCK_BYTES - 16];
} px_block;

typedef struct px_chain {
    px_block *first, *last;
    size_t size;
} px_chain;

/* Things of one size that are used again. Objects begin with the pointer to the next one. */
typedef struct px_store {
    void *first;
    size_t size;
} px_store;

/* A deadline. Those of a kind wait equally long, so a list in order of arrival is one in order of time. */
typedef enum px_wait {
    PX_WAIT_HEAD,     /* a client's head to be whole */
    PX_WAIT_IDLE,     /* a client to go on: with a new request, a body, or with reading its answer */
    PX_WAIT_PARTING,  /* a client to close, or to use its last chance to ask */
    PX_WAIT_CONNECT,  /* a server to accept, or a place at one */
    PX_WAIT_RESPONSE, /* a server to go on with its answer */
    PX_WAIT_KEPT,     /* nothing: an idle connection to a server that is kept for the next request */
    PX_WAITS
} px_wait;

typedef struct px_due {
    struct px_due *next, *before; /* NULL both: not waiting */
    uint64_t at_ms;
    void (*late)(void *self);
    void *self;
} px_due;

typedef struct px_relay {
    px_proxy *proxy;
    uv_timer_t sweep;
    uint64_t swept_ms;        /* when that last rang */
    px_due waiting[PX_WAITS]; /* heads of rings */
    px_store exchanges, clients, links, blocks;
    double now_s;             /* when the event that is being handled was seen */
    uint64_t attempts;        /* ended so far */
    char read[PX_READ_BYTES];
    char scratch[PX_SCRATCH_BYTES];
} px_relay;

px_relay *px_relay_create(px_proxy *proxy); /* NULL: said */
void px_relay_close(px_relay *r);
void px_relay_destroy(px_relay *r); /* closed, and the loop has run since */

/* Zeroed as far as `clear` bytes. Ends the program where there is no memory. */
void *px_take(px_store *s, size_t clear);
void px_give(px_store *s, void *thing);

void px_chain_add(px_relay *r, px_chain *c, const char *bytes, size_t size);
void px_chain_drop(px_relay *r, px_chain *c, size_t size); /* from the front */
#define px_chain_clear(r, c) px_chain_drop(r, c, (c)->size)

void px_due_set(px_relay *r, px_due *d, px_wait wait);
void px_due_none(px_due *d);

/* For uv_read_start. */
void px_relay_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out);

/* ---- writing ------------------------------------------------------------------------------------------------ */

/* What a connection still has to write. progress is called when the kernel took some of what it had not taken at once;
   with status < 0 when it will take no more. */
typedef struct px_out {
    px_relay *relay;
    uv_stream_t *stream;
    px_chain left;
    uv_write_t write;
    bool writing;
    size_t flying; /* bytes of left that libuv has */
    void (*progress)(void *self, int status);
    void *self;
} px_out;

typedef struct px_parts {
    char *head;       /* may be NULL */
    size_t head_size;
    px_chain *chain;  /* may be NULL; cleared unless `keep` */
    bool keep;
    char *tail;       /* may be NULL */
    size_t tail_size;
} px_parts;

void px_out_open(px_out *o, px_relay *r, uv_stream_t *stream, void (*progress)(void *self, int status), void *self);
/* Makes the chain one chunk (none if it is empty), and if it is the last the end of all. head has room for more. */
void px_parts_chunk(px_parts *parts, bool last);
/* Writes as much as the kernel takes and queues the rest. 0, or the error that it met with: then nothing was taken. */
int px_out_send(px_out *o, const px_parts *parts);
void px_out_clear(px_out *o); /* the connection is being closed */

/* ---- an exchange -------------------------------------------------------------------------------------------- */

typedef struct px_client px_client;
typedef struct px_link px_link; /* a connection to a server */

typedef struct px_exchange {
    void *next_free;
    px_relay *relay;
    px_client *client;
    const char *address;      /* the client's */

    /* The request. */
    double arrived_s;
    uint64_t key;
    px_chain body;            /* what came of its body; if it is kept, all of it */
    bool begun;               /* the head is there and was looked at */
    bool started;             /* upstream.c has it */
    bool kept;                /* nothing of the body was given out of hand: it can be sent once more */
    bool full;                /* the client is not read, since the server does not follow */

    /* The attempt. */
    px_link *link;
    px_attempt attempt;
    bool attempting;          /* the attempt is to be handed back to the policy */
    bool fresh;               /* no connection that waited: one just failed */
    bool sent;                /* some of the request may have reached the server */
    bool ended_sending;       /* all of it was handed over */
    int32_t tries, tried_count, tried[PX_TRIES_MOST];
    int32_t status;           /* what to answer if nobody else does better */
    struct px_exchange *next, *before; /* waiting for a place */
    px_due due;

    /* The answer. */
    bool judged;              /* its head was looked at */
    bool hold;                /* not passed on until it is whole */
    bool answered;            /* the client was sent some of it, or of our own */
    bool own;                 /* of our own */
    bool last;                /* the connection is closed afterwards */
    px_chain answer;          /* what came of its body and was not passed on */
    px_ending ending;
    int32_t shown;            /* status that the client was sent */
    int64_t bytes_out;

    px_message request, response; /* not cleared: begin does */
} px_exchange;

#define PX_EXCHANGE_CLEAR offsetof(px_exchange, request)

/* client.c, for upstream.c */
void px_client_answer(px_exchange *x);       /* response's head is whole; more of its body, or all, is in answer */
void px_client_fail(px_exchange *x, int32_t status); /* no server answered */
void px_client_cut(px_exchange *x);          /* the server broke off after a part was passed on */
void px_client_room(px_exchange *x);         /* the server took what was queued of the request's body */
bool px_client_slow(const px_exchange *x);   /* so much waits to be written that more would only pile up */

/* upstream.c, for client.c. Each may end with one of the above before it returns. */
void px_upstream_start(px_exchange *x);      /* head is whole; so is the body, or it is passed on as it comes */
void px_upstream_more(px_exchange *x);       /* of the body */
bool px_upstream_slow(const px_exchange *x);
void px_upstream_resume(px_exchange *x);     /* the client took what was queued */
void px_upstream_cancel(px_exchange *x);

#endif
