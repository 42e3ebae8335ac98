/* agent.h - the contract between the parts of the agent

       proc.c    what the kernel says: /proc/stat, /proc/meminfo, /proc/net/dev. Text in, numbers out; no files
       line.c    what is written of it: line protocol, in Telegraf's schema
       queue.c   lines that wait for the database: a bound, the oldest go first, all are counted
       send.c    where lines go, and what an answer means: written, refused, tried again later. No sockets, no clock
       agent.c   main: settings, files, clock, sockets, signals, the status file. HTTP is web.c of udp.h

   The prefix of shared names is ua_. Whatever the bytes: readers look at nothing outside [text, text + size), and a
   line without its end is not taken, since a file may be cut there. */

#ifndef UA_AGENT_H
#define UA_AGENT_H

#include "files.h"
#include "rllb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UA_CPUS_MOST = 1024,  /* beside the one for all together */
    UA_NICS_MOST = 256,
    UA_NIC_NAME_MOST = 16, /* bytes, the end included: the kernel's bound */
    UA_HOST_MOST = 65,    /* likewise */
    UA_LINE_MOST = 1400,  /* the longest line fits into a datagram: see test_udp_agent.c */
    UA_WORDS_MOST = 200
};

/* ---- proc.c ----------------------------------------------------------------------------------------------------- */

/* As they stand in a line of /proc/stat. Guests are part of user and nice. */
typedef enum ua_cpu_field {
    UA_USER, UA_NICE, UA_SYSTEM, UA_IDLE, UA_IOWAIT, UA_IRQ, UA_SOFTIRQ, UA_STEAL, UA_GUEST, UA_GUEST_NICE,
    UA_CPU_FIELDS
} ua_cpu_field;

typedef struct ua_cpu {
    int32_t number; /* -1: all together */
    uint64_t ticks[UA_CPU_FIELDS];
} ua_cpu;

typedef struct ua_stat {
    ua_cpu all;
    int32_t count;
    ua_cpu cpu[UA_CPUS_MOST]; /* by rising number */
} ua_stat;

/* Of mem: identifier, name in /proc/meminfo, name of the field. */
#define UA_MEMORY(X)                                                                                              \
    X(TOTAL, "MemTotal", "total") X(AVAILABLE, "MemAvailable", "available") X(FREE, "MemFree", "free")            \
    X(BUFFERS, "Buffers", "buffered") X(CACHED, "Cached", "cached") X(RECLAIMABLE, "SReclaimable", "sreclaimable") \
    X(ACTIVE, "Active", "active") X(INACTIVE, "Inactive", "inactive") X(SHARED, "Shmem", "shared")                \
    X(SLAB, "Slab", "slab") X(UNRECLAIMABLE, "SUnreclaim", "sunreclaim") X(MAPPED, "Mapped", "mapped")            \
    X(DIRTY, "Dirty", "dirty") X(WRITE_BACK, "Writeback", "write_back")                                           \
    X(WRITE_BACK_TMP, "WritebackTmp", "write_back_tmp") X(PAGE_TABLES, "PageTables", "page_tables")               \
    X(COMMIT_LIMIT, "CommitLimit", "commit_limit") X(COMMITTED, "Committed_AS", "committed_as")                   \
    X(SWAP_TOTAL, "SwapTotal", "swap_total") X(SWAP_FREE, "SwapFree", "swap_free")                                \
    X(SWAP_CACHED, "SwapCached", "swap_cached") X(HIGH_TOTAL, "HighTotal", "high_total")                          \
    X(HIGH_FREE, "HighFree", "high_free") X(LOW_TOTAL, "LowTotal", "low_total") X(LOW_FREE, "LowFree", "low_free") \
    X(VM_TOTAL, "VmallocTotal", "vmalloc_total") X(VM_USED, "VmallocUsed", "vmalloc_used")                        \
    X(VM_CHUNK, "VmallocChunk", "vmalloc_chunk") X(HUGE_TOTAL, "HugePages_Total", "huge_pages_total")             \
    X(HUGE_FREE, "HugePages_Free", "huge_pages_free") X(HUGE_SIZE, "Hugepagesize", "huge_page_size")

#define UA_MEMORY_ID(id, kernel, field) UA_MEMORY_##id,
typedef enum ua_memory_field { UA_MEMORY(UA_MEMORY_ID) UA_MEMORY_FIELDS } ua_memory_field;

/* Bytes, or pages where the kernel counts pages. What it does not say is 0. `cached` has what can be reclaimed of slab
   in it, as Telegraf has it; `available` is there always, and at most the total. */
typedef struct ua_memory {
    uint64_t value[UA_MEMORY_FIELDS];
} ua_memory;

/* Counters since the interface began. */
typedef struct ua_nic {
    char name[UA_NIC_NAME_MOST];
    uint64_t bytes_recv, packets_recv, err_in, drop_in;
    uint64_t bytes_sent, packets_sent, err_out, drop_out;
} ua_nic;

typedef struct ua_net {
    int32_t count, left_out; /* left_out: beyond UA_NICS_MOST, or not understood */
    ua_nic nic[UA_NICS_MOST];
} ua_net;

/* False: it is not that file, and why. */
bool ua_stat_read(const char *text, size_t size, ua_stat *out, char why[UA_WORDS_MOST]);
bool ua_memory_read(const char *text, size_t size, ua_memory *out, char why[UA_WORDS_MOST]);
bool ua_net_read(const char *text, size_t size, ua_net *out, char why[UA_WORDS_MOST]);
/* /sys/class/net/NAME/flags: is the interface up, and not the loopback? Text that is no such number is no. */
bool ua_flags_up(const char *text, size_t size);

/* ---- line.c ----------------------------------------------------------------------------------------------------- */

/* A tag's value: comma, blank and equals sign escaped. Control characters and backslashes become '?': what a backslash
   means depends on the database. Cut where out is full. Answers its length. */
size_t ua_escape(const char *text, char *out, size_t room);

/* Lines without their end; host as it is. Answer the length, 0: there is nothing to say. */
/* Shares of the time between two samples. Nothing if no time passed, or it ran backwards: the host began anew. */
size_t ua_line_cpu(const char *host, const ua_cpu *before, const ua_cpu *now, int64_t at_ns, char out[UA_LINE_MOST]);
/* Used is what is not available (Telegraf since 1.36), or neither free nor cached (Telegraf before that). */
typedef enum ua_used { UA_USED_NOT_AVAILABLE, UA_USED_NOT_CACHED } ua_used;
size_t ua_line_memory(const char *host, const ua_memory *m, ua_used used, int64_t at_ns, char out[UA_LINE_MOST]);
size_t ua_line_nic(const char *host, const ua_nic *n, int64_t at_ns, char out[UA_LINE_MOST]);

/* ---- queue.c ---------------------------------------------------------------------------------------------------- */

/* Each line that was added is written, dropped, waiting, or in doubt: it had to make room while it was under way, and
   whether it was written is not known yet. */
typedef struct ua_queue {
    char **line;
    int32_t room, first, count;       /* a ring; count: waiting */
    int32_t under_way, doubtful;      /* taken and not settled; of these, no longer waiting */
    uint64_t added, written, dropped, refused; /* dropped: to make room; refused: by the database */
} ua_queue;

typedef enum ua_outcome { UA_WRITTEN, UA_REFUSED, UA_FAILED } ua_outcome;

bool ua_queue_create(ua_queue *q, int32_t lines);
void ua_queue_destroy(ua_queue *q);
/* The oldest line makes room. */
void ua_queue_add(ua_queue *q, const char *line, size_t size);
/* The oldest lines, each with its end: at most so many, and so many bytes, but one at least if any waits. They wait on
   until ua_queue_settle says what became of them; nothing else may be taken before. Answers how many. */
int32_t ua_queue_take(ua_queue *q, int32_t lines, size_t bytes, ex_text *out);
void ua_queue_settle(ua_queue *q, ua_outcome outcome);

/* ---- send.c ----------------------------------------------------------------------------------------------------- */

typedef enum ua_kind { UA_INFLUX1, UA_INFLUX2, UA_UDP, UA_STDOUT } ua_kind;

typedef struct ua_target {
    ua_kind kind;
    char url[1024];           /* where lines are posted */
    char create_url[1024], create[512]; /* v1: this, posted there, makes the database if it is not there; or empty */
    char authorization[1024]; /* a header, or empty: never shown */
    char host[256], port[8];  /* UDP */
    char name[300];           /* for people */
} ua_target;

/* "influx1:http://HOST:PORT/DATABASE", "influx2:http://HOST:PORT", "udp:HOST:PORT", "stdout". token may be empty: of v2
   as it is, of v1 "user:password". EX_GO_ON, or EX_USAGE: said. */
int ua_target_read(const char *to, const char *org, const char *bucket, const char *token, ua_target *out);

typedef enum ua_state { UA_UNTRIED, UA_WELL, UA_REFUSING, UA_FAILING } ua_state;

typedef struct ua_sender {
    ua_queue *queue;
    const ua_target *target;
    const char *secret;         /* never to be printed, whoever repeats it */
    rllb_rng rng;
    ua_state state;
    double next_s, pause_s;     /* no try before; the pause that led to it, 0: none */
    double written_s;           /* when it went well last; below 0: never */
    uint64_t tries, failures, refusals;
    char words[UA_WORDS_MOST];  /* of the last refusal or failure */
} ua_sender;

/* seed and the host's name: agents whose database was away do not come back all at once. */
void ua_sender_init(ua_sender *s, ua_queue *q, const ua_target *t, const char *secret, const char *host,
                    uint64_t seed);
/* Are there lines, none of them under way, and is it time? */
bool ua_sender_ready(const ua_sender *s, double now_s);
/* What became of the lines that were taken. status: of HTTP, 0: there was no answer, and text says why. Tried again
   after 1 s, 2 s and so on to 30 s, or what the server wants, are: no answer, 5xx, 408 and 429. Other answers than 2xx
   are final. after: Retry-After, or "". Said on stderr are the first of a row, another refusal, and when it is over. */
void ua_sender_answer(ua_sender *s, int32_t status, const char *text, size_t size, const char *after, double now_s);

#endif
