/* proxy.h - what the rooms of the proxy know of each other

   proxy.c     main: options, listeners, signals
   client.c    clients' connections: a request is taken in, answered, logged; limits and time-outs of this side
   upstream.c  servers' connections: pools, an attempt to have a request answered, time-outs of that side
   relay.c     what these two share (relay.h): the exchange, buffers, sending, deadlines
   message.c   HTTP itself (message.h)
   config.c    settings: a file, then flags
   policy.c    which server: the balancer of rllb.h, a Q-table or a model behind it; what was learned, saved and found
   health.c    active checks, and what servers say of themselves
   watch.c     counters, histograms, the access log
   admin.c     the operator's port: page, metrics, switches
   page.html   the page

   One loop, one thread: everything here is owner's business. Times are seconds of the monotonic clock. Functions that
   answer bool have said what is wrong in one line on stderr when they answer false. */

#ifndef PX_PROXY_H
#define PX_PROXY_H

#include "message.h"
#include "rllb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

typedef struct px_proxy px_proxy;

/* ---- settings: config.c ------------------------------------------------------------------------------------- */

enum {
    PX_SERVERS_MOST = 1024,
    PX_INDEXES_MOST = 2048, /* a balancer's indices are below: servers that left keep theirs while they finish */
    PX_NAME_MOST = RLLB_BALANCER_NAME_MAX,
    PX_TEXT_MOST = 256,
    PX_TRIES_MOST = 8
};

typedef struct px_server_config {
    char name[PX_NAME_MOST]; /* unique; its index in the balancer stays with it over reloads */
    char host[64];           /* an address, no name: nothing is looked up while traffic runs */
    int32_t port;
    float weight;
    int32_t connections;     /* at most at once; 0: no limit */
} px_server_config;

typedef enum px_key { PX_KEY_NONE, PX_KEY_ADDRESS, PX_KEY_TARGET, PX_KEY_HEADER, PX_KEY_COOKIE } px_key;
typedef enum px_metrics { PX_METRICS_NONE, PX_METRICS_HEALTH, PX_METRICS_APACHE } px_metrics;

typedef struct px_config {
    char path[PX_TEXT_MOST]; /* of the file; empty: flags only */
    char listen_host[64], admin_host[64]; /* default 127.0.0.1 */
    int32_t listen_port, admin_port;      /* 0: the kernel chooses; admin -1: none */
    int32_t server_count;
    px_server_config server[PX_SERVERS_MOST];

    /* Deciding. policy: a name of rllb_balance_name, or "q_learning". */
    char policy[32], fallback[32];
    char model[PX_TEXT_MOST];  /* learned: a model file; empty: the one that ships */
    char state[PX_TEXT_MOST];  /* what was learned is kept here; empty: nowhere */
    bool shadow;
    double blend, interval_s;
    uint64_t seed;
    px_key key;
    char key_name[64];         /* of the header or the cookie */
    double q_alpha, q_gamma, q_epsilon, q_decay, q_epsilon_min;
    float q_levels[3][2]; /* where a server's cpu percent, active requests and mean ms become middling, and high */

    /* Health. */
    char health_path[PX_TEXT_MOST]; /* empty: no active checks */
    double health_interval_s, health_timeout_s;
    int32_t health_rise, health_fall;
    px_metrics metrics;        /* what the answer to a check says besides: JSON, or Apache's server-status?auto */

    /* Limits and patience. */
    px_limits limits;          /* of clients' requests */
    int32_t clients;           /* connections at once; beyond: not accepted until one ends */
    int32_t idle_connections;  /* kept open to each server */
    int32_t retries;           /* other servers tried after the first */
    int32_t hold_bytes;        /* requests' and answers' bodies up to this size are held until whole, so that the other
                                  side can fail without harm; larger ones are passed on as they come */
    double head_s, idle_s, connect_s, response_s, drain_s;

    char access_log[PX_TEXT_MOST]; /* CSV; empty: none */
} px_config;

void px_config_default(px_config *c);
/* The file, then flags (which win); --help, --version and wrong usage leave with the status returned; EX_GO_ON else. */
int px_config_parse(px_config *c, int argc, char **argv);
/* The same file and flags again, for a reload. False: said, *out is not to be used. */
bool px_config_again(px_config *out);
/* One file's text, of any bytes: for config_parse and for the fuzzer. False: one line "NAME:LINE: what" into why. */
bool px_config_text(px_config *c, const char *name, const char *text, size_t size, char why[200]);

/* ---- deciding: policy.c ------------------------------------------------------------------------------------- */

typedef struct px_policy px_policy;

/* One attempt: made by pick, handed back to done exactly once. */
typedef struct px_attempt {
    int32_t server; /* index in the balancer; -1: none is usable */
    double started_s;
    unsigned char step[48]; /* what the Q-table wants back */
} px_attempt;

bool px_policy_create(const px_config *c, double now_s, px_policy **out);
void px_policy_destroy(px_policy *p);
/* Servers come, go and change their weight; what was learned of those that stay is kept. A policy of another name takes
   over with what the old one knows. False: said, and nothing changed. */
bool px_policy_reload(px_policy *p, const px_config *c, double now_s);
bool px_policy_pick(px_policy *p, uint64_t key, double now_s, px_attempt *out);
bool px_policy_pick_other(px_policy *p, const int32_t *tried, int32_t count, double now_s, px_attempt *out);
void px_policy_done(px_policy *p, const px_attempt *a, double now_s, rllb_outcome outcome);
void px_policy_tick(px_policy *p, double now_s); /* as often as you like */
/* A check says so. up: may be picked. NaN in said: not known. cpu in percent. */
typedef struct px_said { double cpu, active, response_ms, busy; } px_said;
void px_policy_health(px_policy *p, int32_t server, bool up, const px_said *said, double now_s);
void px_policy_shadow(px_policy *p, bool shadow, double now_s);
bool px_policy_drain(px_policy *p, int32_t server, bool drain, double now_s);
bool px_policy_save(px_policy *p, const char *path);
void *px_policy_state(px_policy *p, size_t *size); /* the same bytes, to be freed; NULL: said */
rllb_balancer *px_policy_balancer(px_policy *p); /* for metrics and the page */
const char *px_policy_name(const px_policy *p);
/* Mean over about the last second of -milliseconds / 10, and -1000 for a failure: as Q-learning is paid, whatever the
   policy; NaN: none. */
double px_policy_reward(const px_policy *p);
bool px_policy_is_shadow(const px_policy *p);
int32_t px_policy_server(const px_policy *p, const char *name); /* index in the balancer, -1 */

/* ---- servers: upstream.c ------------------------------------------------------------------------------------ */

/* By the balancer's index: where it is, and the connections to it. */
typedef struct px_upstream px_upstream;
px_upstream *px_upstream_create(px_proxy *proxy);
void px_upstream_reload(px_upstream *u); /* after policy_reload: idle connections to servers that are gone are closed */
void px_upstream_close(px_upstream *u, bool at_once); /* idle ones now, busy ones when they are done or at once */
typedef struct px_pool_info { int32_t busy, idle; uint64_t opened, reused, failed; } px_pool_info;
void px_upstream_info(const px_upstream *u, int32_t server, px_pool_info *out); /* zeros for what is none */
void px_upstream_destroy(px_upstream *u); /* closed, and the loop has run since */

/* ---- clients: client.c -------------------------------------------------------------------------------------- */

typedef struct px_clients px_clients;
px_clients *px_clients_create(px_proxy *proxy);
void px_clients_accept(px_clients *c, uv_stream_t *listener);
void px_clients_forget(px_clients *c, uv_stream_t *listener); /* before a listener is closed */
/* No new connections: each is closed after its next answer, idle ones after a moment. */
void px_clients_drain(px_clients *c);
void px_clients_close(px_clients *c); /* all at once; requests under way are given up */
int32_t px_clients_open(const px_clients *c);
void px_clients_destroy(px_clients *c); /* closed, and the loop has run since */

/* ---- checks: health.c --------------------------------------------------------------------------------------- */

typedef struct px_health px_health;
px_health *px_health_create(px_proxy *proxy);
void px_health_reload(px_health *h);
void px_health_close(px_health *h);
/* What the body of an answer to a check says; NaN for what it does not. Any bytes will do. */
void px_said_read(px_metrics metrics, const char *text, size_t size, px_said *out);

/* ---- watching: watch.c, admin.c ----------------------------------------------------------------------------- */

typedef enum px_ending {
    PX_ENDED_OK,       /* a server's answer went out whole: any status below 500 */
    PX_ENDED_FAILED,   /* a server answered 5xx and nobody else would do better */
    PX_ENDED_NO_SERVER,/* 502, 503, 504 of our own */
    PX_ENDED_REFUSED,  /* 4xx of our own: the request was broken or too large */
    PX_ENDED_GONE,     /* the client went away first */
    PX_ENDED_CUT,      /* the server broke off in the middle of an answer that was on its way already */
    PX_ENDINGS
} px_ending;

typedef struct px_record {
    double arrived_s, started_s, ended_s; /* first byte of the request; the last attempt began; all was sent */
    int32_t server;  /* that answered, or was tried last; -1: none */
    int32_t tries, status;
    px_ending ending;
    int64_t bytes_in, bytes_out; /* of bodies */
    const char *method;
    px_slice target;
    const char *client;
} px_record;

typedef struct px_watch px_watch;
px_watch *px_watch_create(px_proxy *proxy); /* NULL: said (the access log cannot be opened) */
void px_watch_request(px_watch *w, const px_record *r); /* nothing is allocated, nothing waits */
void px_watch_attempt(px_watch *w, int32_t server, double seconds, rllb_outcome outcome);
bool px_watch_reload(px_watch *w); /* the access log is opened anew */
void px_watch_close(px_watch *w);  /* what is buffered is written */

/* What admin.c shows. Late: of the last ten seconds, begun ones included. */
typedef struct px_late { double per_s, failed_per_s, p50_s, p99_s; } px_late; /* quantiles NaN: nothing ended */
typedef struct px_total {
    uint64_t ended[PX_ENDINGS], tried_again, bytes_in, bytes_out, log_lines, log_lost;
    double sum_s, up_s; /* of all requests' durations; since the start */
    px_late late;       /* failed: all but ok, refused and gone */
} px_total;
typedef struct px_server_total { uint64_t ok, failed, cancelled; double sum_s; px_late late; } px_server_total;
void px_watch_total(const px_watch *w, px_total *out);
void px_watch_server(const px_watch *w, int32_t server, px_server_total *out);
/* How many requests took up to each of these bounds, in ascending order: exact to the 5 % of a bucket. */
void px_watch_below(const px_watch *w, const double *bounds_s, int32_t count, uint64_t *below);
const char *px_ending_name(px_ending e);

typedef struct px_admin px_admin;
px_admin *px_admin_create(px_proxy *proxy); /* listens; NULL: said */
int32_t px_admin_port(const px_admin *a);
void px_admin_close(px_admin *a);

/* ---- all of it: proxy.c ------------------------------------------------------------------------------------- */

struct px_proxy {
    uv_loop_t *loop;
    px_config config; /* in force */
    px_policy *policy;
    struct px_relay *relay;
    px_upstream *upstream;
    px_clients *clients;
    px_health *health;
    px_watch *watch;
    px_admin *admin;
    bool draining;
    int32_t listen_port; /* as bound */
    uint32_t reloads, reloads_refused;
};

double px_now_s(void); /* monotonic, to the microsecond or better */
/* Reads the settings again and puts them in force, or says why not and goes on as before. */
bool px_proxy_reload(px_proxy *proxy);

#endif
