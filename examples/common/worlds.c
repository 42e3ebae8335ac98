#include "worlds.h"

#include <math.h>
#include <string.h>

const ex_world_limits ex_world_limits_default = {
    { 2, 24 }, { 1, 32 }, { 0.6, 0.93 }, { 0.01, 0.3 }, 60000, 120000, 600, 0.35
};

static double even(rllb_rng *rng, const double range[2])
{
    return range[0] + (range[1] - range[0]) * rllb_rng_double(rng);
}

static double ratio(rllb_rng *rng, double low, double high)
{
    return low * pow(high / low, rllb_rng_double(rng));
}

static int32_t count(rllb_rng *rng, const int32_t range[2])
{
    return (int32_t)floor(ratio(rng, range[0], range[1] + 1 - 1e-9));
}

/* Two sizes; as many CPUs are active at once as there are, or processor sharing; speeds of three kinds of cluster: all
   alike, three sorts in turn, each its own. */
static void draw_servers(rllb_rng *rng, ex_world_drawn *w)
{
    static const int32_t sizes[] = { 1, 2, 4, 8 };
    int32_t small = sizes[rllb_rng_below(rng, 4)], large = sizes[rllb_rng_below(rng, 4)], j, sorts, n = w->desc.count;
    bool sharing = rllb_rng_below(rng, 3) > 0;
    double speed[3], spread = even(rng, (double[2]){ 1, 3 });

    for (j = 0; j < 3; j++) speed[j] = ratio(rng, 1 / spread, spread);
    sorts = rllb_rng_below(rng, 3);
    for (j = 0; j < n; j++) {
        rllb_env_server_desc *s = &w->servers[j];
        s->cpus = j < (n + 1) / 2 ? small : large;
        s->active = sharing ? 32 : s->cpus;
        s->most = s->active + 128;
        s->speed = (float)(sorts == 0 ? 1 : sorts == 1 ? speed[j % 3] : ratio(rng, 1 / spread, spread));
        s->weight = 1;
    }
}

static void draw_work(rllb_rng *rng, const ex_world_limits *l, rllb_env_flows_desc *d)
{
    int32_t law = rllb_rng_below(rng, 6);

    d->work_s = ratio(rng, l->work_s[0], l->work_s[1]);
    d->law = law == 0 ? RLLB_ENV_SAME : law == 1 ? RLLB_ENV_LOGNORMAL : RLLB_ENV_EXPONENTIAL;
}

static void put_event(ex_world_drawn *w, double at_s, rllb_env_event_kind kind, int32_t server, double value)
{
    rllb_env_event *e = &w->events[w->desc.event_count++];

    e->at_s = at_s;
    e->kind = kind;
    e->server = server;
    e->value = value;
}

/* A server is slow or fails for a while in the middle of the run, and heals; the rate changes. */
static void draw_events(rllb_rng *rng, ex_world_drawn *w)
{
    int32_t victim = rllb_rng_below(rng, w->desc.count), kind = rllb_rng_below(rng, 3);
    double from = w->duration_s * (0.3 + 0.2 * rllb_rng_double(rng)), to = w->duration_s * 0.7;

    if (kind == 0) put_event(w, from, RLLB_ENV_EVENT_SPEED, victim, ratio(rng, 0.2, 0.7));
    if (kind == 1) put_event(w, from, RLLB_ENV_EVENT_FAIL, victim, 0.3 + 0.7 * rllb_rng_double(rng));
    if (kind == 2) put_event(w, from, RLLB_ENV_EVENT_RATE, 0, 0.7 + 0.3 * rllb_rng_double(rng));
    if (kind == 2) put_event(w, to, RLLB_ENV_EVENT_RATE, 0, 1);
    else put_event(w, to, RLLB_ENV_EVENT_BACK, victim, 1);
}

void ex_world_bind(ex_world_drawn *w)
{
    w->desc.servers = w->servers;
    w->desc.events = w->desc.event_count ? w->events : NULL;
}

void ex_world_draw(const ex_world_limits *l, uint64_t seed, ex_world_drawn *out)
{
    rllb_env_flows_desc *d = &out->desc;
    double capacity;
    rllb_rng rng;

    rllb_rng_init(&rng, seed, 0);
    memset(out, 0, sizeof *out);
    rllb_env_flows_desc_default(d);
    d->count = count(&rng, l->servers);
    d->balancers = count(&rng, l->balancers);
    draw_servers(&rng, out);
    draw_work(&rng, l, d);
    out->load = even(&rng, l->load);
    ex_world_bind(out);
    d->rate = 1;
    capacity = rllb_env_flows_capacity(d);
    d->rate = out->load * capacity;
    d->step_s = 0.25;
    d->seed = rllb_rng_u64(&rng);
    out->duration_s = l->flows_max / d->rate;
    if (out->duration_s > l->longest_s) out->duration_s = l->longest_s;
    while (out->duration_s / d->step_s * d->count * d->balancers > l->ticks_max && d->step_s < 2) d->step_s *= 2;
    if (out->duration_s / d->step_s * d->count * d->balancers > l->ticks_max) {
        out->duration_s = l->ticks_max * d->step_s / d->count / d->balancers;
    }
    d->horizon_s = out->duration_s;
    if (rllb_rng_double(&rng) < l->eventful) draw_events(&rng, out);
    ex_world_bind(out);
}
