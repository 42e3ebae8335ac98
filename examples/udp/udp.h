/* udp.h - what the rooms of the UDP allocator know of each other

   allocator.c   main: settings, two threads, signals, the status file
   forward.c     the data path: datagrams in, a client for each, datagrams out, replies back to their senders
   flows.c       who sends: a bounded table of senders, each with its client and its socket
   mind.c        which client: the balancer of rllb.h, or a plan made by a model; what old metrics are worth
   metrics.c     what is known of clients: readings made into shares of what they can do, with their age
   source.c      where readings come from, asked again and again
   influx.c      InfluxDB v1 and v2: what is asked, what is answered
   prometheus.c  the text of node_exporter
   table.c       CSV, times, the tables of capacities and of readings
   clients.c     who the clients are: a list, DNS, Nomad
   health.c      probes and silence
   web.c         HTTP by libcurl, for sources and Nomad

   Two threads. "data" runs forward.c and flows.c: it owns the sockets of senders, picks and ends, and never waits for
   anything but datagrams. "control" runs all else, ten times a second or as answers come: it is the keeper of the
   balancer (rllb.h), and writes what the data thread reads. What passes from control to data is the balancer's shared
   block, the plan (ud_plan, below) and the addresses (ud_board, below), all of them without a lock; back pass counters
   and, of each client, when it last answered (ud_board).

   A client has one index everywhere: that in the balancer. Times are seconds of the monotonic clock, CLOCK_MONOTONIC;
   where metrics carry a stamp of their own it is Unix time. Functions that answer bool have said what is wrong in one
   line on stderr when they answer false. Nothing in the data thread allocates after ud_forward_create. */

#ifndef UD_UDP_H
#define UD_UDP_H

#include "common.h"
#include "rllb.h"

#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { UD_CLIENTS_MOST = 256, UD_NAME_MOST = RLLB_BALANCER_NAME_MAX, UD_TEXT_MOST = 256, UD_PLAN_MOST = 1024 };

/* ---- settings: allocator.c ------------------------------------------------------------------------------------ */

typedef enum ud_sticky { UD_STICKY_FLOW, UD_STICKY_DATAGRAM } ud_sticky;

typedef struct ud_config {
    struct sockaddr_in6 listen;  /* IPv4 is mapped; port 0: the kernel chooses, and one line says which */
    /* The data path. */
    ud_sticky sticky;            /* one client for a sender as long as it sends, or one for each datagram */
    bool replies;                /* are passed back to the sender; else one socket sends all */
    int32_t flows;               /* senders at once at most; the longest idle one makes room */
    double idle_s;               /* a sender is forgotten after that */
    double window_s;             /* how long a datagram counts as at its client where no reply ends it */
    double busy_us;              /* how long the data thread looks for more before it sleeps */
    /* Deciding. */
    char policy[32];             /* a name of rllb_balance_name, or "model" */
    char fallback[32];           /* when metrics are old, default sed */
    char model[UD_TEXT_MOST];    /* safetensors of udp_train */
    uint64_t seed;
    /* Metrics: "influx1:http://...", see source.c. Empty: none, for policies that need none. database: of v2 the
       bucket; empty: telegraf. token: as it is, or @FILE; empty: that of the environment, INFLUX_TOKEN, if any. */
    char source[UD_TEXT_MOST], database[64], org[64], token[UD_TEXT_MOST];
    double interval_s;           /* between two polls, 0.25 ... 10 */
    double stale_s;              /* a reading older than that is none */
    /* Who: "10.0.0.5:5005,b=10.0.0.6:5005*2", "dns:name:port", "nomad:http://...:4646/service" */
    char clients[4 * UD_TEXT_MOST];
    char capacity[UD_TEXT_MOST]; /* file: name, cores, memory bytes, bytes a second each way; empty: network 125e6 */
    /* Health. */
    char probe[UD_TEXT_MOST];    /* payload that clients answer, sent every probe_s; empty: no probes */
    double probe_s, probe_timeout_s;
    int32_t rise, fall;          /* answers, or probes without one, in a row that change a client's state */
    double silence_s;            /* with replies: datagrams were sent for so long and nothing came back; 0: never */
    char status[UD_TEXT_MOST];   /* file, Prometheus text, written whole each second; empty: none */
} ud_config;

/* ---- what the threads share ----------------------------------------------------------------------------------- */

/* Words that both threads touch are written and read by these alone. A counter has one writer. */
static inline void ud_add(uint64_t *word, uint64_t more)
{
    __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

static inline uint64_t ud_load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void ud_store(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline uint32_t ud_load_word(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void ud_store_word(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

enum { UD_ADDRESS_WORDS = (int)(sizeof(struct sockaddr_in6) / sizeof(uint32_t)) };

/* Clients by index. Control says with ud_seat_put who has an index, at once after rllb_balancer_add told it, and NULL
   when it removes the client; what the data thread picks without an address goes to another. */
typedef struct ud_seat {
    struct sockaddr_in6 address;      /* control's own; ud_seat_put writes it too */
    uint32_t shown[UD_ADDRESS_WORDS]; /* the same for the data thread */
    uint32_t put;                     /* changes with the address; odd while it does, and where there is none */
    uint32_t fit;                     /* ud_board_mirror: it may be picked, and flows may stay */
    /* Of the data thread: */
    uint64_t sent, sent_bytes, replies;
    uint64_t refused;          /* the kernel says that nobody listens there, or could not send */
    uint64_t answered_us;      /* when the last reply came, monotonic; 0: never */
    uint64_t unanswered_us;    /* when the first datagram was sent since then; 0: none was */
    uint64_t flows;            /* senders, or datagrams, given to it in all */
} ud_seat;

typedef struct ud_board {
    ud_seat seat[UD_CLIENTS_MOST];
    uint64_t received, sent, returned;     /* datagrams */
    uint64_t no_client, no_room, dropped;  /* nobody to send to; senders forgotten early; the kernel refused */
    uint64_t resent;                       /* came back refused (ICMP), and went to another client */
    uint64_t strangers;                    /* came where replies come, from who is no client */
    uint64_t batches, calls;               /* receptions of datagrams, many at once; system calls that sent some */
    uint64_t flows_open, flows_made, flows_moved; /* moved: given another client */
    uint64_t uncounted;                    /* given up before their time, since too many were on their way at once */
    uint64_t tried;                        /* ud_try_take */
    uint32_t turn;                         /* changes whenever an address or a state did */
    uint32_t stop;                         /* control: 1 ends ud_forward_run */
} ud_board;

/* Control: this client has the index from now on; NULL: nobody. */
static inline void ud_seat_put(ud_board *b, int32_t client, const struct sockaddr_in6 *address)
{
    ud_seat *s = &b->seat[client];
    uint32_t words[UD_ADDRESS_WORDS], put = ud_load_word(&s->put) | 1;
    int32_t i;

    ud_store_word(&s->put, put);
    memset(&s->address, 0, sizeof s->address);
    if (address) s->address = *address;
    memcpy(words, &s->address, sizeof words);
    for (i = 0; i < UD_ADDRESS_WORDS; i++) ud_store_word(&s->shown[i], words[i]);
    ud_store_word(&s->put, address ? put + 1 : put + 2);
    ud_store_word(&b->turn, ud_load_word(&b->turn) + 1);
}

/* Data: the address, or false if there is none now. *put: which one it is. */
static inline bool ud_seat_get(const ud_seat *s, struct sockaddr_in6 *out, uint32_t *put)
{
    uint32_t words[UD_ADDRESS_WORDS], before = ud_load_word(&s->put);
    int32_t i;

    for (i = 0; i < UD_ADDRESS_WORDS; i++) words[i] = ud_load_word(&s->shown[i]); /* a new one comes with its odd put */
    if (before == 0 || before % 2 || ud_load_word(&s->put) != before) return false;
    memcpy(out, words, sizeof words);
    *put = before;
    return true;
}

/* A client that is down, since it was silent, is tried now and then, or nobody would know that it answers again:
   control asks for it, and the data thread gives the next new sender (or datagram) to it, whatever its state. */
static inline bool ud_try_asked(const ud_board *b)
{
    return ud_load(&b->tried) != 0;
}

static inline void ud_try_ask(ud_board *b, int32_t client) /* control; -1: no longer */
{
    ud_store(&b->tried, (uint64_t)(client + 1));
}

/* Data, where it would pick: the client to give to, for rllb_balancer_started, or -1: as always. */
static inline int32_t ud_try_take(ud_board *b)
{
    uint64_t tried = ud_load(&b->tried);

    if (tried) ud_store(&b->tried, 0);
    return (int32_t)tried - 1;
}

/* Control, after whatever may have changed states: who may be picked, for flows that stick. Forgets addresses of those
   who are gone and have nothing in flight. */
void ud_board_mirror(ud_board *b, const rllb_balancer *keeper);

/* What a model would choose for the next flows, one after the other, each choice counted as sent before the next is
   made: the data thread takes them in turn, a nanosecond each, and control makes a new one at every reading and when
   half of this one is used. A plan that is used up begins anew.

   Three of them. `front` is the data thread's, `back` control's; nobody else reads or writes these two. `middle` names
   the third, with UD_PLAN_FRESH while the data thread has not had it. To publish, control exchanges middle for back; to
   take, which it does at a choice if middle is fresh, the data thread exchanges middle for front. An exchange releases
   what was written before it, and acquires what the other side wrote before its own. So no plan is read while it is
   written, the newest is in force at every choice, and neither waits. (Of two, control could write none before the data
   thread has had the other: traffic that comes back after a pause would meet a plan from before.) */
enum { UD_PLAN_FRESH = 4 };

typedef struct ud_plan {
    int32_t count;                       /* 0: none; then the least (q + 1) / w is taken */
    uint32_t turn;                       /* which plan, from 1 on */
    int32_t client[UD_PLAN_MOST];        /* indices */
} ud_plan;

typedef struct ud_plans {
    uint32_t turn, back;         /* control; back: 2 at first */
    ud_plan plan[3];
    uint32_t middle;             /* both, by exchange; 1 at first */
    uint32_t front;              /* data ... */
    int32_t at;                  /* ... the next of the plan in front */
    uint64_t progress;           /* ... turn << 40 | how many were taken of it; control looks at it */
} ud_plans;

static inline void ud_plan_open(ud_plans *p)
{
    memset(p, 0, sizeof *p);
    p->back = 2;
    p->middle = 1;
}

/* Control: from now on this plan; count 0: none. */
static inline void ud_plan_publish(ud_plans *p, const int32_t *client, int32_t count)
{
    ud_plan *next = &p->plan[p->back];

    next->count = count < UD_PLAN_MOST ? count : UD_PLAN_MOST;
    next->turn = ++p->turn;
    if (next->count > 0) memcpy(next->client, client, (size_t)next->count * sizeof *client);
    p->back = __atomic_exchange_n(&p->middle, p->back | UD_PLAN_FRESH, __ATOMIC_ACQ_REL) & 3u;
}

/* Control: how many entries of the newest plan were taken, more than it has if it began anew. */
static inline uint64_t ud_plan_used(const ud_plans *p)
{
    uint64_t progress = ud_load(&p->progress);

    return progress >> 40 == (p->turn & 0xffffffu) ? progress & 0xffffffffffu : 0;
}

/* Data: the newest plan. */
static inline const ud_plan *ud_plan_newest(ud_plans *p)
{
    if (__atomic_load_n(&p->middle, __ATOMIC_RELAXED) & UD_PLAN_FRESH) {
        p->front = __atomic_exchange_n(&p->middle, p->front, __ATOMIC_ACQ_REL) & 3u;
        p->at = 0;
        ud_store(&p->progress, (uint64_t)(p->plan[p->front].turn & 0xffffffu) << 40);
    }
    return &p->plan[p->front];
}

/* Data: desc.choose of policy "model", choose_self being the ud_plans. The next of the plan who is usable, of eight at
   most; then the least cost. */
static inline int32_t ud_plan_choose(void *self, const float *cost, int32_t n)
{
    ud_plans *p = (ud_plans *)self;
    const ud_plan *plan = ud_plan_newest(p);
    int32_t best = -1, i, j;

    for (i = 0; i < 8 && plan->count > 0; i++) {
        int32_t client = plan->client[p->at];
        if (++p->at >= plan->count) p->at = 0;
        ud_add(&p->progress, 1);
        if (client >= 0 && client < n && cost[client] < INFINITY) return client;
    }
    for (j = 0; j < n; j++) {
        if (cost[j] < INFINITY && (best < 0 || cost[j] < cost[best])) best = j;
    }
    return best;
}

/* ---- forward.c, flows.c: the data thread ------------------------------------------------------------------------ */

typedef struct ud_forward ud_forward;

/* worker: the balancer's handle of the data thread. Opens the sockets; c->flows may be cut to what they allow. */
bool ud_forward_create(const ud_config *c, rllb_balancer *worker, ud_board *board, ud_forward **out);
void ud_forward_destroy(ud_forward *f);
int32_t ud_forward_port(const ud_forward *f);
void ud_forward_run(ud_forward *f); /* until board->stop */

/* ---- mind.c ------------------------------------------------------------------------------------------------------ */

typedef struct ud_mind ud_mind;

/* The balancer, its two handles, and the model if there is one. */
bool ud_mind_create(const ud_config *c, double now_s, ud_mind **out);
void ud_mind_destroy(ud_mind *m);
rllb_balancer *ud_mind_worker(ud_mind *m); /* for the data thread; policy "model" is CHOOSE, by the plan */
rllb_balancer *ud_mind_keeper(ud_mind *m); /* for control */
/* Control, as often as you like: ticks; looks at the age of metrics; plans. board: who was given how many flows. Both
   may be NULL for policies that go by neither. */
struct ud_metrics;
void ud_mind_turn(ud_mind *m, const struct ud_metrics *metrics, const ud_board *board, double now_s);
bool ud_mind_blind(const ud_mind *m); /* the fallback serves, for want of fresh metrics */

/* ---- metrics.c --------------------------------------------------------------------------------------------------- */

/* What one source says of one host at one moment; NaN: not said. cpu and memory in percent used, as Telegraf has them;
   counters of bytes since the host or its interface began. A host may be told of in several readings, one for each
   thing: each has its own time. */
typedef struct ud_reading {
    char host[UD_NAME_MOST];
    double at_s;                  /* Unix time of the sample */
    double cpu_percent, memory_percent;
    double bytes_in, bytes_out;   /* counters */
    double idle_s, all_s;         /* counters over all processors, where cpu_percent is not said: source.c makes */
    int32_t cpus;                 /* that of two readings, if there are as many processors in both */
} ud_reading;

/* What a client can do, as its owner declared. */
typedef struct ud_capacity {
    char name[UD_NAME_MOST];      /* "*": of all that are not named */
    double cores, memory_bytes;   /* for the record: metrics are in percent of them already */
    double bytes_s;               /* each way */
} ud_capacity;

typedef struct ud_metrics ud_metrics;

/* Shares of what a client can do, 0 and up, with the time they are of: what a model and AWCMP see. */
typedef struct ud_shares {
    bool known;                   /* all three, and not stale */
    double cpu, memory, network;  /* network: the greater of in and out, over its capacity */
    double age_s;                 /* since the sample was taken */
    double at_s;                  /* monotonic; of the sample */
} ud_shares;

bool ud_metrics_create(const ud_config *c, ud_metrics **out);
void ud_metrics_destroy(ud_metrics *m);
/* Host names are matched to clients by name, then by address (as text, without a port). The same again keeps what is
   known of the client, another name or address begins anew. */
void ud_metrics_name(ud_metrics *m, int32_t client, const char *name, const char *address);
void ud_metrics_forget(ud_metrics *m, int32_t client);
/* False: nobody has this index. */
bool ud_metrics_client(const ud_metrics *m, int32_t client, const char **name, const char **address);
const ud_capacity *ud_metrics_capacity(const ud_metrics *m, int32_t client); /* NULL: nobody */
/* Takes a reading in: rates by differences of counters; one that ran backwards is a wrap of 32 bits if that gives a
   rate within the capacity, else a restart; the same sample again, or an older one, is none. */
void ud_metrics_take(ud_metrics *m, const ud_reading *r, double unix_s, double now_s);
void ud_metrics_shares(const ud_metrics *m, int32_t client, double now_s, ud_shares *out);
uint64_t ud_metrics_turn(const ud_metrics *m); /* changes with every reading taken */

/* ---- source.c ---------------------------------------------------------------------------------------------------- */

typedef struct ud_source ud_source;

/* influx1:URL (InfluxQL, Telegraf's schema), collectd:URL (the same, collectd's), influx2:URL (Flux),
   prometheus:[NAME=]URL,... or one URL with {} for the address of each client (node_exporter), file:PATH. */
bool ud_source_create(const ud_config *c, ud_source **out);
void ud_source_destroy(ud_source *s);
/* Control: starts a poll when one is due, and takes in what has come; never waits. Readings go to m. */
void ud_source_turn(ud_source *s, ud_metrics *m, double unix_s, double now_s);
/* Waits up to wait_s for an answer to be there, so that a turn soon after takes it in; optional. */
void ud_source_wait(ud_source *s, double wait_s);
/* Polls that failed in a row, and why the last one did; 0: all is well. An answer without metrics is a failure. */
int32_t ud_source_failing(const ud_source *s, char why[160]);

/* Parsers alone, for tests and fuzzers: any bytes. Answer how many readings, at most `most`; -1: not the format, not
   whole, or an error's report, and why. */
int32_t ud_parse_influx1(const char *text, size_t size, ud_reading *out, int32_t most, char why[160]);
int32_t ud_parse_influx2(const char *text, size_t size, ud_reading *out, int32_t most, char why[160]);
int32_t ud_parse_prometheus(const char *host, const char *text, size_t size, double at_s, ud_reading *out,
                            char why[160]);
int32_t ud_parse_table(const char *text, size_t size, ud_reading *out, int32_t most, char why[160]);
int32_t ud_parse_capacity(const char *text, size_t size, ud_capacity *out, int32_t most, char why[160]);

/* ---- web.c ------------------------------------------------------------------------------------------------------- */

typedef struct ud_web ud_web;

/* Requests of one thread, many at a time, by libcurl's multi interface. */
bool ud_web_create(ud_web **out);
void ud_web_destroy(ud_web *w);
/* The answer, whole, or status 0 and why in text; and the header that was asked for. */
typedef struct ud_answer {
    int32_t status;
    const char *text;
    size_t size;
    char header[64];
} ud_answer;
typedef void (*ud_web_fn)(void *user, const ud_answer *a);
/* body NULL: GET, else POST. headers: lines, NULL-terminated; may be NULL. want: a header's name or NULL. The answer
   comes during a later ud_web_turn, or never if destroyed before. At most 4 MiB are taken. */
bool ud_web_ask(ud_web *w, const char *url, const char *const *headers, const char *body, const char *want,
                double timeout_s, ud_web_fn fn, void *user);
/* Moves all of them on; waits up to wait_s for something to happen. Not from within a ud_web_fn, which may ask. */
void ud_web_turn(ud_web *w, double wait_s);
/* Only waits. */
void ud_web_wait(ud_web *w, double wait_s);

/* ---- clients.c --------------------------------------------------------------------------------------------------- */

typedef struct ud_clients ud_clients;

/* The list, dns:NAME:PORT or nomad:URL/SERVICE; what joins is added to the keeper and the board, what leaves drains.
   What is found empty or fails to answer changes nothing: who was there stays. m and w may be NULL where nobody wants
   metrics, and nobody is asked; the web is destroyed first. A token of Nomad's is taken from NOMAD_TOKEN. */
bool ud_clients_create(const ud_config *c, rllb_balancer *keeper, ud_board *board, ud_metrics *m, ud_web *w,
                       double now_s, ud_clients **out);
void ud_clients_destroy(ud_clients *l);
void ud_clients_turn(ud_clients *l, double now_s);
int32_t ud_clients_count(const ud_clients *l);
const char *ud_clients_name(const ud_clients *l, int32_t client); /* NULL: nobody */

/* For tests and fuzzers: the list; Nomad's answers to /v1/service/NAME and /v1/job/JOB/allocations. Any bytes. Answer
   how many there are, at most `most`; -1: not the format, and why. What cannot be used is left out. */
typedef struct ud_place {
    char name[UD_NAME_MOST], host[64];
    int32_t port;
    double weight;
    char alloc[40], job[128], space[64], node[64]; /* Nomad's: allocation, job, namespace, name of the node; or empty */
} ud_place;

typedef struct ud_alloc {
    char id[40], name[128], node[64];
    bool running;                 /* and meant to be */
} ud_alloc;

int32_t ud_parse_clients(const char *text, ud_place *out, int32_t most, char why[160]);
int32_t ud_parse_services(const char *text, size_t size, ud_place *out, int32_t most, char why[160]);
int32_t ud_parse_allocations(const char *text, size_t size, ud_alloc *out, int32_t most, char why[160]);

/* ---- health.c ---------------------------------------------------------------------------------------------------- */

typedef struct ud_health ud_health;

bool ud_health_create(const ud_config *c, rllb_balancer *keeper, ud_board *board, ud_health **out);
void ud_health_destroy(ud_health *h);
void ud_health_turn(ud_health *h, const ud_clients *l, double now_s);

#endif
