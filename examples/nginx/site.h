/* site.h - what the nginx modules share: settings of an `rllb` line, and the balancer of one upstream

   nginx has a master, and workers that are forked from it and serve. All workers balance together: the balancer's block
   lies in a segment of shared memory of its own, and each worker holds a handle on it.

       configuration    nx_settings_take, nx_site_create, nx_site_enter, nx_site_share
       master           nx_site_settle            the segment is there; servers that came and went are told
       worker begins    nx_site_join              takes a place, which is a number of the block's workers
       worker ends      nx_site_leave

   A place is a mutex that its worker holds as long as it lives. The kernel lets go of it when the worker dies: whoever
   finds it so next, a worker that begins or the keeper, gives up what the dead one had in flight. `keeper` is such a
   mutex too: its holder ticks. `desk` is held for a moment, by whoever changes what all share.

   A reload finds the segment by its name, which holds all settings that the block's layout hangs on: with the same
   policy and room the block is handed over with all that was learned, else a new one begins. Workers of before and
   after a reload share it while the old ones serve their last requests, so there are places for both.

   With state=FILE the keeper writes the block into a file (states.h) now and then, and when it ends; a master that
   begins with a new segment goes on from it. Of several nginx on one file, as in an upgrade of the binary, the one
   configured last writes: each takes a turn, one more than that of the file it finds. Workers run as another user than
   the master, so the file is theirs, and so must its folder be.

   Nothing here knows of HTTP or streams. Nothing but nx_site_settle waits, and the keeper for that file. */

#ifndef NX_SITE_H
#define NX_SITE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "rllb.h"
#include "rllb_nn.h"

#include "models.h"

#include <pthread.h>

enum { NX_NAME_MOST = 128, NX_SERVERS_MOST = 1024, NX_STATE_MOST = 16 << 20 };

/* Of an `rllb` line. What stays zero has the default of rllb.h. */
typedef struct nx_settings {
    rllb_balancer_desc desc;  /* policy, its numbers, guard, interval, seed */
    ngx_str_t model_path, state_path, key, report;
    ex_model *model;          /* LEARNED */
    double blend, gamma;      /* percent; as written */
    double interval_ms;       /* 0: not said */
    double save_ms;           /* from one writing of the state to the next */
    uint64_t seen;            /* a bit for each word of the line */
    u_char *file;             /* where the line stands */
    ngx_uint_t line;
} nx_settings;

/* A server of the configuration. */
typedef struct nx_entry {
    ngx_str_t name;
    float weight;
    ngx_uint_t down;
    int32_t index;  /* of the balancer; -1: it had no room */
    void *peer;     /* nginx's record of it */
} nx_entry;

typedef struct nx_shared nx_shared;

/* Two modules that look at each other's sites must be of one build. */
#define NX_BUILD ((uintptr_t)sizeof(nx_site) << 16 | (uintptr_t)RLLB_VERSION)

typedef struct nx_site {
    const char *protocol;      /* http, stream */
    ngx_str_t name;
    nx_settings settings;
    rllb_balancer_desc desc;   /* of every handle */
    nx_entry *entry;           /* [count] in the order of nginx's list */
    ngx_uint_t count;
    int32_t *place_of;         /* [capacity] index -> place in entry[]; -1: none */
    ngx_shm_zone_t *zone;
    nx_shared *shared;
    const ngx_core_conf_t *core;
    bool handed_over;          /* from the configuration before */
    void *key;                 /* what requests are told apart by; the module's */
    void *peers;               /* nginx's list of primary servers */
    bool counts_shared;        /* nginx's own counts of failures are those of all workers */
    ngx_uint_t (*is_out)(void *peer, time_t now); /* nginx would not send to it now */

    /* Of this worker. */
    rllb_balancer *balancer;   /* NULL: there was no place yet */
    rllb_nn_policy *network;
    int32_t place;
    uint32_t generation;
    bool keeper, said_full;
    u_char *told;              /* [count] keeper: 1: the balancer knows that it is out */
    const char *save_fault;    /* keeper: why the state was not written, as the log knows; NULL: it was */
    ngx_event_t timer;
} nx_site;

/* One word of the line, "key=value". False: why says what is wrong with it. */
bool nx_settings_take(nx_settings *s, const char *word, char *why, size_t size);
/* A whole line; a complaint goes to nginx's log, with file and line. */
bool nx_settings_line(nx_settings *s, ngx_conf_t *cf);
/* When all words were taken; opens the model. */
bool nx_settings_end(nx_settings *s, ngx_pool_t *pool, char *why, size_t size);

/* A site with room for so many entries; they must be entered next. NULL: no memory. */
nx_site *nx_site_create(ngx_conf_t *cf, const char *protocol, const ngx_str_t *name, const nx_settings *s,
                        ngx_uint_t count);
bool nx_site_enter(nx_site *site, ngx_conf_t *cf, const ngx_str_t *name, ngx_int_t weight, ngx_uint_t down);
/* Asks nginx for the segment. False: logged. */
bool nx_site_share(nx_site *site, ngx_conf_t *cf, void *tag);

bool nx_site_settle(nx_site *site, ngx_cycle_t *cycle);
void nx_site_join(nx_site *site, ngx_cycle_t *cycle);
void nx_site_leave(nx_site *site);

/* An attempt went well. in_flight: what the server says it has; < 0: it says nothing. */
void nx_site_report(nx_site *site, int32_t index, float in_flight, double elapsed_s, double now_s);

/* Seconds, microseconds told apart; the same clock in all processes. It goes on where a state file left it. */
double nx_now(const nx_site *site);
uint64_t nx_hash(const u_char *text, size_t length); /* never 0 */

/* Who serves: process ids of the places that are taken, 0 for free ones; the keeper's id. */
int32_t nx_site_workers(const nx_site *site, const ngx_pid_t **pids, ngx_pid_t *keeper);

/* Of the state file: did this go on from it, how often was it written and could not be, how long ago (< 0: never). */
typedef struct nx_saves {
    bool found;
    uint64_t saved, failed;
    double ago_s;
} nx_saves;

void nx_site_saves(const nx_site *site, nx_saves *out);

#endif
