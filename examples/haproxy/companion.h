/* companion.h - the contract between the parts of the companion of HAProxy

       lines.c       what HAProxy says: log lines, statistics, agent checks. Text in, numbers out; no sockets
       mind.c        what is decided: a balancer of rllb.h that watches requests which HAProxy sent, weights, state file
       companion.c   sockets, clock, signals

   The prefix of shared names is hx_. */

#ifndef HX_COMPANION_H
#define HX_COMPANION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HX_SERVERS_MOST = 512,
    HX_NAME_MOST = 64,     /* bytes of a name, its end included */
    HX_WEIGHT_MOST = 256,  /* of HAProxy's scale */
    HX_COMMAND_MOST = 8000 /* bytes of a line of commands: HAProxy takes up to its buffer, 16 KB */
};

/* ---- lines.c ---------------------------------------------------------------------------------------------------- */

/* One request that ended, in the words of HAProxy's manual. Milliseconds; -1: it did not come to that. */
typedef struct hx_log {
    char server[HX_NAME_MOST];
    int32_t tr, tw, tc, tresponse, ta; /* %TR %Tw %Tc %Tr %Ta */
    int32_t status;                    /* %ST; -1: none */
    char cause;                        /* the first of %tsc: who ended it, '-' if all went well */
    int32_t at_server, queued;         /* %sc: requests at the server; %bq: before this one, for any server */
} hx_log;

typedef enum hx_line {
    HX_LINE_TAKEN,
    HX_LINE_OTHER, /* of another backend, or never sent to a server */
    HX_LINE_WRONG
} hx_line;

/* A line with the request's BACKEND/SERVER followed by what `option httplog` writes after it, or by

       %TR/%Tw/%Tc/%Tr/%Ta %ST %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq

   Whatever stands before is skipped: a syslog header, addresses. What clients choose must come later. */
hx_line hx_log_read(const char *backend, const char *line, size_t size, hx_log *out);

typedef struct hx_server {
    char name[HX_NAME_MOST];
    int32_t in_flight, waiting;   /* scur, qcur */
    int32_t weight, configured;   /* in force; as in the file */
    bool backup, running, ready;  /* running: HAProxy's checks say so; ready: neither in maintenance nor draining */
    uint64_t total, redispatched; /* stot; wredis: requests that went elsewhere since this one could not be reached */
} hx_server;

/* The answer to hx_question: who HAProxy is, and the servers of one backend. */
typedef struct hx_report {
    int64_t pid;
    int32_t count, left_out; /* left_out: servers beyond HX_SERVERS_MOST, or with too long a name */
    hx_server server[HX_SERVERS_MOST];
} hx_report;

/* "show info;show stat BACKEND 4 -1;show servers state BACKEND\n". Columns are found by their names. False: it is no
   whole answer about that backend, and `why` says what is missing. */
bool hx_report_read(const char *backend, const char *text, size_t size, hx_report *out, char why[120]);
/* A name as HAProxy allows it, that fits. */
bool hx_name_ok(const char *name);
/* What `agent-send` sent: the server's name, ended by a line's end. 1: there it is; 0: more is to come; -1: wrong. */
int hx_agent_read(const char *bytes, size_t size, char name[HX_NAME_MOST]);

/* ---- mind.c ----------------------------------------------------------------------------------------------------- */

typedef struct hx_setup {
    const char *policy, *model, *state; /* model NULL: the one that ships; state NULL: none */
    const char *backend;
    double interval_s, blend, floor, ceiling;
    bool to_first_byte; /* durations end with the response's header instead of its last byte */
    bool by_lines;      /* no reports come: log lines tell what is in flight */
    uint64_t seed;
} hx_setup;

typedef struct hx_counts {
    uint64_t lines, others, wrong, unknown; /* log lines taken, of others, not understood, of servers unknown */
    uint64_t ended;                         /* requests that HAProxy says ended while we looked */
    uint64_t reports, faults;               /* answers taken; tries to ask or to set that failed */
    uint64_t sent, refused;                 /* weights set; refused by HAProxy */
    uint64_t full;                          /* loops that left lines unread */
    uint64_t restarts;                      /* HAProxy's */
    uint64_t agents, strangers;             /* agent checks answered; those that named no server of ours */
} hx_counts;

typedef struct hx_mind hx_mind;

/* NULL: said why. A policy that finds no weights is refused. */
hx_mind *hx_mind_create(const hx_setup *s);
void hx_mind_destroy(hx_mind *m);
hx_counts *hx_mind_counts(hx_mind *m);

/* What HAProxy says of its servers, or the command line. The first time the balancer is made, with what the state file
   knows. False: no memory, or a model that cannot serve them; said. */
bool hx_mind_report(hx_mind *m, const hx_report *r, double now_s);
void hx_mind_line(hx_mind *m, const char *line, size_t size, double now_s);
/* Decides, if an interval is over. */
void hx_mind_tick(hx_mind *m, double now_s);
/* Is there a weight that cannot wait for the next interval? */
bool hx_mind_urgent(const hx_mind *m);
/* "set weight B/S N;..." of those that HAProxy has otherwise, one line of at most HX_COMMAND_MOST bytes and a 0 behind
   them; answers its length, 0: nothing to do. count: how many weights. configured: those of the file instead. */
size_t hx_mind_commands(hx_mind *m, bool configured, char *line, int32_t *count);
/* HAProxy took that line. */
void hx_mind_taken(hx_mind *m, bool configured);
/* For an agent check: percent of the configured weight; -1: no server of ours. */
int32_t hx_mind_percent(const hx_mind *m, const char *name);
bool hx_mind_save(hx_mind *m, double now_s);
/* Prometheus text; the caller frees. NULL: no memory. */
char *hx_mind_status(hx_mind *m, double now_s, size_t *size);

#endif
