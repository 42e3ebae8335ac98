/* worlds.h - flow-level worlds drawn at random: what a model is trained in that shall serve many sites

   A world is a descriptor with its servers and events: so many servers of two sizes and some speeds, so many balancers,
   a law of work, a load, and perhaps a server that slows down, fails, heals or goes. The same draw gives the same
   world. Balancers are told nothing: every weight is 1. */

#ifndef EX_WORLDS_H
#define EX_WORLDS_H

#include "rllb_env.h"

enum { EX_WORLD_SERVERS = 64, EX_WORLD_EVENTS = 8 };

/* What may come. Ranges are from[0] to from[1], both included; counts and times even in their logarithm. */
typedef struct ex_world_limits {
    int32_t servers[2];   /* 2 ... EX_WORLD_SERVERS */
    int32_t balancers[2];
    double load[2];       /* of what the servers can do */
    double work_s[2];
    double flows_max;     /* in a run: its length is set so that it stays below, ... */
    double ticks_max;     /* ... and ticks of balancer and server together below this */
    double longest_s;
    double eventful;      /* chance of events */
} ex_world_limits;

typedef struct ex_world_drawn {
    rllb_env_flows_desc desc; /* servers and events are the arrays below, once ex_world_bind has been called */
    rllb_env_server_desc servers[EX_WORLD_SERVERS];
    rllb_env_event events[EX_WORLD_EVENTS];
    double duration_s;
    double load;
} ex_world_drawn;

extern const ex_world_limits ex_world_limits_default;

/* desc.balancer is left as the default: what balances is the caller's to say. */
void ex_world_draw(const ex_world_limits *limits, uint64_t seed, ex_world_drawn *out);
/* Points desc at the arrays of this copy. draw has done so for its own. */
void ex_world_bind(ex_world_drawn *w);

#endif
