/* peers.h - between nginx's records of servers and the balancer; HTTP and streams alike

   nginx has the same records and functions twice, under names of its own. Whoever includes this defines before:

       NX(name)          ngx_http_upstream_##name, or of the stream
       nx_owner          the request or session
       nx_pool_of(owner) its pool
       nx_protocol       "http" or "stream"
       nx_main_of(cycle) all upstreams; NULL: there are none
       nx_conf_of(us)    the upstream's nx_conf
       nx_tag            the module, which owns the segments
       nx_key_of, nx_outcome_of, nx_report (declared below)

   nginx's own rules come first and its own counts are kept: a server that is down, failed too often, has its most
   connections or was tried for this request is not taken, whatever the balancer picks. Where the balancer has no server
   at all, nginx's weighted round robin is asked: it has the backups, and the last word. */

/* What the module keeps of an upstream. */
typedef struct nx_conf {
    nx_settings settings;
    bool configured;
    void *key;
    nx_site *site; /* NULL: another method has it */
} nx_conf;

typedef struct nx_request {
    NX(rr_peer_data_t) rr; /* first: nginx's functions take this for theirs */
    nx_owner *owner;
    nx_site *site;
    uint64_t key;
    double started_s;
    int32_t index;         /* of the server that it is at; -1: at none that the balancer knows */
    bool again;            /* a server was asked for already */
} nx_request;

/* 0: none. */
static uint64_t nx_key_of(nx_owner *owner, nx_site *site);
static rllb_outcome nx_outcome_of(nx_owner *owner, ngx_uint_t state);
/* An attempt that went well is over: what the server said of itself. */
static void nx_report(nx_owner *owner, nx_site *site, int32_t index, double elapsed_s, double now_s);

static ngx_uint_t nx_is_out(void *record, time_t now)
{
    NX(rr_peer_t) *p = record;

    return p->down || (p->max_fails && p->fails >= p->max_fails && now - p->checked <= p->fail_timeout);
}

static bool nx_was_tried(const nx_request *q, ngx_uint_t place)
{
    return q->rr.tried[place / (8 * sizeof(uintptr_t))] >> place % (8 * sizeof(uintptr_t)) & 1;
}

/* Takes that server if nginx's rules let it. */
static bool nx_take(nx_request *q, int32_t index)
{
    int32_t place = index < q->site->desc.capacity ? q->site->place_of[index] : -1;
    time_t now = ngx_time();
    NX(rr_peer_t) *p;
    bool ok;

    if (place < 0 || nx_was_tried(q, (ngx_uint_t)place)) return false;
    p = q->site->entry[place].peer;
    NX(rr_peer_lock)(q->rr.peers, p);
    ok = !nx_is_out(p, now) && !(p->max_conns && p->conns >= p->max_conns);
    if (ok) {
        p->conns++;
        if (now - p->checked > p->fail_timeout) p->checked = now;
        q->rr.current = p;
        q->rr.tried[(ngx_uint_t)place / (8 * sizeof(uintptr_t))] |=
            (uintptr_t)1 << (ngx_uint_t)place % (8 * sizeof(uintptr_t));
    }
    NX(rr_peer_unlock)(q->rr.peers, p);
    return ok;
}

/* Indices that were tried for this request, and how many. */
static int32_t nx_tried(const nx_request *q, int32_t *tried)
{
    int32_t n = 0;
    ngx_uint_t i;

    for (i = 0; i < q->site->count; i++) {
        if (nx_was_tried(q, i) && q->site->entry[i].index >= 0) tried[n++] = q->site->entry[i].index;
    }
    return n;
}

/* -1: none that may be taken. What the balancer picked in vain ends as if nobody had asked. */
static int32_t nx_pick(nx_request *q, double now)
{
    rllb_balancer *b = q->site->balancer;
    int32_t tried[NX_SERVERS_MOST], n = q->again ? nx_tried(q, tried) : 0, index;

    index = n ? rllb_balancer_pick_other(b, tried, n, now) : rllb_balancer_pick(b, q->key, now);
    while (index >= 0 && !nx_take(q, index)) {
        rllb_balancer_done(b, index, now, now, RLLB_OUTCOME_CANCELLED);
        if (n == NX_SERVERS_MOST) return -1;
        tried[n++] = index;
        index = rllb_balancer_pick_other(b, tried, n, now);
    }
    return index;
}

/* The index of whom nginx took by itself. */
static int32_t nx_index_of(const nx_request *q, const void *peer)
{
    ngx_uint_t i;

    for (i = 0; i < q->site->count; i++) {
        if (q->site->entry[i].peer == peer) return q->site->entry[i].index;
    }
    return -1;
}

static ngx_int_t nx_get_in_turn(ngx_peer_connection_t *pc, nx_request *q)
{
    ngx_int_t rc = NX(get_round_robin_peer)(pc, &q->rr);

    if (rc != NGX_OK || !q->site->balancer) return rc;
    q->index = nx_index_of(q, q->rr.current);
    if (q->index >= 0 && rllb_balancer_started(q->site->balancer, q->index, q->started_s) != RLLB_OK) q->index = -1;
    return rc;
}

static ngx_int_t nx_get(ngx_peer_connection_t *pc, void *data)
{
    nx_request *q = data;
    NX(rr_peers_t) *peers = q->rr.peers;

    q->started_s = nx_now(q->site);
    q->index = -1;
    if (q->site->balancer && !peers->single && peers == q->site->peers) {
        NX(rr_peers_rlock)(peers);
        q->index = nx_pick(q, q->started_s);
        NX(rr_peers_unlock)(peers);
    }
    q->again = true;
    if (q->index < 0) return nx_get_in_turn(pc, q);
    pc->cached = 0;
    pc->connection = NULL;
    pc->sockaddr = q->rr.current->sockaddr;
    pc->socklen = q->rr.current->socklen;
    pc->name = &q->rr.current->name;
    return NGX_OK;
}

static void nx_free(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    nx_request *q = data;
    double now;

    if (q->index >= 0 && q->site->balancer) {
        rllb_outcome outcome = nx_outcome_of(q->owner, state);
        now = nx_now(q->site);
        rllb_balancer_done(q->site->balancer, q->index, q->started_s, now, outcome);
        if (outcome == RLLB_OUTCOME_OK) nx_report(q->owner, q->site, q->index, now - q->started_s, now);
    }
    q->index = -1;
    NX(free_round_robin_peer)(pc, &q->rr, state);
}

static ngx_int_t nx_init_peer(nx_owner *owner, NX(srv_conf_t) *us)
{
    nx_site *site = nx_conf_of(us)->site;
    nx_request *q = ngx_palloc(nx_pool_of(owner), sizeof *q);

    if (!q) return NGX_ERROR;
    owner->upstream->peer.data = &q->rr;
    if (NX(init_round_robin_peer)(owner, us) != NGX_OK) return NGX_ERROR;
    owner->upstream->peer.get = nx_get;
    owner->upstream->peer.free = nx_free;
    q->owner = owner;
    q->site = site;
    q->index = -1;
    q->again = false;
    q->key = nx_key_of(owner, site);
    return NGX_OK;
}

/* ---- configuration, master, workers ---------------------------------------------------------------------------- */

/* nginx's list of the primary servers into the site's; it keeps its order when it moves into the upstream's zone. */
static bool nx_enter_all(nx_conf *conf, ngx_conf_t *cf, NX(srv_conf_t) *us, void *tag)
{
    NX(rr_peers_t) *peers = us->peer.data;
    NX(rr_peer_t) *p;

    conf->site = nx_site_create(cf, nx_protocol, &us->host, &conf->settings, peers->number);
    if (!conf->site) return false;
    for (p = peers->peer; p; p = p->next) {
        if (!nx_site_enter(conf->site, cf, &p->name, p->weight, p->down)) return false;
    }
    conf->site->is_out = nx_is_out;
    conf->site->key = conf->key;
    return nx_site_share(conf->site, cf, tag);
}

static ngx_int_t nx_init_upstream(ngx_conf_t *cf, NX(srv_conf_t) *us)
{
    if (NX(init_round_robin)(cf, us) != NGX_OK) return NGX_ERROR;
    if (!nx_enter_all(nx_conf_of(us), cf, us, nx_tag)) return NGX_ERROR;
    us->peer.init = nx_init_peer;
    return NGX_OK;
}

/* Calls f for every upstream that is ours; false: it did once. */
static bool nx_each(ngx_cycle_t *cycle, bool (*f)(nx_site *, NX(srv_conf_t) *, void *), void *data)
{
    NX(main_conf_t) *main = nx_main_of(cycle);
    NX(srv_conf_t) **us = main ? main->upstreams.elts : NULL;
    ngx_uint_t i;

    for (i = 0; main && i < main->upstreams.nelts; i++) {
        nx_site *site = us[i]->srv_conf ? nx_conf_of(us[i])->site : NULL;
        if (site && !f(site, us[i], data)) return false;
    }
    return true;
}

/* Everything is in place: where the records ended up, and whether all workers share them. */
static bool nx_bind(nx_site *site, NX(srv_conf_t) *us, void *cycle)
{
    NX(rr_peers_t) *peers = us->peer.data;
    NX(rr_peer_t) *p;
    ngx_uint_t i = 0;

    for (p = peers->peer; p && i < site->count; p = p->next) site->entry[i++].peer = p;
    site->peers = peers;
    site->counts_shared = peers->shpool != NULL;
    return nx_site_settle(site, cycle);
}

static bool nx_join(nx_site *site, NX(srv_conf_t) *us, void *cycle)
{
    nx_site_join(site, cycle);
    return true;
}

static bool nx_leave(nx_site *site, NX(srv_conf_t) *us, void *cycle)
{
    nx_site_leave(site);
    return true;
}

static bool nx_list(nx_site *site, NX(srv_conf_t) *us, void *sites)
{
    nx_site **slot = ngx_array_push(sites);

    if (slot) *slot = site;
    return slot != NULL;
}

/* All of the running configuration into an array of nx_site *. False: no memory. */
static bool nx_list_sites(ngx_array_t *sites)
{
    return nx_each((ngx_cycle_t *)(uintptr_t)ngx_cycle, nx_list, sites);
}

static ngx_int_t nx_init_module(ngx_cycle_t *cycle)
{
    return nx_each(cycle, nx_bind, cycle) ? NGX_OK : NGX_ERROR;
}

/* nginx's cache processes are no workers. */
static bool nx_is_worker(void)
{
    return ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE;
}

static ngx_int_t nx_init_process(ngx_cycle_t *cycle)
{
    if (nx_is_worker()) nx_each(cycle, nx_join, cycle);
    return NGX_OK;
}

static void nx_exit_process(ngx_cycle_t *cycle)
{
    if (nx_is_worker()) nx_each(cycle, nx_leave, cycle);
}
