/* site.c - see site.h */

#include "site.h"

#include "states.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* At the start of the segment's only allocation; then the servers' names, then the balancer's block. Both ends of a
   reload see it at the same address, since workers are forked from the master, but nothing in it is a pointer. */
struct nx_shared {
    uint32_t generation;       /* counts configurations; only the latest one's workers keep */
    ngx_pid_t keeper_pid;
    ngx_pid_t pid[RLLB_BALANCER_WORKERS_MAX];
    double offset_s;           /* the balancer's clock less the machine's */
    uint64_t turn;             /* whose the state file is, see states.h */
    bool found;                /* went on from it */
    uint64_t saved, failed;    /* how often it was written; could not be */
    double saved_s, tried_s;   /* when it last was; was to be */
    pthread_mutex_t desk, keeper, place[RLLB_BALANCER_WORKERS_MAX];
    /* char name[capacity][NX_NAME_MOST]; empty: nobody has this index */
};

enum { BLOCK_ALIGN = 64, NEVER = 2 };

typedef char names_fit[(int)NX_NAME_MOST == (int)EX_STATE_NAME_MOST ? 1 : -1];

static double machine_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double nx_now(const nx_site *site)
{
    return machine_s() + site->shared->offset_s;
}

/* FNV-1a, its bits mixed once more. */
uint64_t nx_hash(const u_char *text, size_t length)
{
    uint64_t h = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i < length; i++) h = (h ^ text[i]) * 0x100000001b3u;
    h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    return h ? h : 1;
}

static char *name_at(nx_shared *s, int32_t index)
{
    return (char *)(s + 1) + (size_t)index * NX_NAME_MOST;
}

static size_t block_at(const nx_site *site)
{
    size_t head = sizeof(nx_shared) + (size_t)site->desc.capacity * NX_NAME_MOST;

    return (head + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

/* ---- mutexes that outlive their holders ------------------------------------------------------------------------ */

static bool mutex_create(pthread_mutex_t *m)
{
    pthread_mutexattr_t a;
    bool ok;

    if (pthread_mutexattr_init(&a) != 0) return false;
    ok = pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED) == 0
         && pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST) == 0 && pthread_mutex_init(m, &a) == 0;
    pthread_mutexattr_destroy(&a);
    return ok;
}

/* *dead: its last holder died with it. */
static bool mutex_try(pthread_mutex_t *m, bool *dead)
{
    int rc = pthread_mutex_trylock(m);

    *dead = rc == EOWNERDEAD;
    if (*dead) pthread_mutex_consistent(m);
    return rc == 0 || *dead;
}

static void mutex_wait(pthread_mutex_t *m)
{
    if (pthread_mutex_lock(m) == EOWNERDEAD) pthread_mutex_consistent(m);
}

/* ---- configuration --------------------------------------------------------------------------------------------- */

static int32_t workers_configured(ngx_conf_t *cf)
{
    ngx_core_conf_t *core = (ngx_core_conf_t *)ngx_get_conf(cf->cycle->conf_ctx, ngx_core_module);

    return core->worker_processes > 0 ? (int32_t)core->worker_processes : 1;
}

/* For how many servers the model is; 0: any number, or there is none. */
static int32_t made_for_of(const ex_model *m)
{
    return !m || m->policy.space.item_observations > 0 ? 0 : m->policy.space.heads;
}

/* Places for the workers before and after a reload, and room for servers to come. Reservoirs are dealt out among all
   places, of which but half are in use most of the time: so they are twice as large. */
static void make_room(nx_site *site, ngx_conf_t *cf)
{
    rllb_balancer_desc *d = &site->desc;
    bool reservoirs = d->policy == RLLB_BALANCE_HLB || d->policy == RLLB_BALANCE_EQUALISE
                      || (d->policy == RLLB_BALANCE_LEARNED && d->features != RLLB_FEATURES_RELATIVE);

    if (made_for_of(site->settings.model)) d->capacity = made_for_of(site->settings.model);
    if (!d->workers) d->workers = 2 * workers_configured(cf);
    if (d->workers > RLLB_BALANCER_WORKERS_MAX) d->workers = RLLB_BALANCER_WORKERS_MAX;
    if (!d->capacity) d->capacity = ((int32_t)site->count + (int32_t)site->count / 2 + 16 + 15) / 16 * 16;
    if (d->slots == 0 && reservoirs) d->slots = 128;
    if (d->slots > 1 && d->workers > 1) d->slots = d->slots < RLLB_BALANCER_SLOTS_MAX / 2 ? 2 * d->slots : d->slots;
}

nx_site *nx_site_create(ngx_conf_t *cf, const char *protocol, const ngx_str_t *name, const nx_settings *s,
                        ngx_uint_t count)
{
    nx_site *site = ngx_pcalloc(cf->pool, sizeof *site);
    u_char *label = ngx_pcalloc(cf->pool, name->len + 8);
    int32_t i;

    if (!site || !label) return NULL;
    site->protocol = protocol;
    site->name = *name;
    site->settings = *s;
    site->core = (const ngx_core_conf_t *)ngx_get_conf(cf->cycle->conf_ctx, ngx_core_module);
    site->desc = s->desc;
    ngx_sprintf(label, ngx_strcmp(protocol, "http") == 0 ? "%V" : "stream:%V", name); /* in metrics */
    site->desc.name = (const char *)label;
    site->entry = ngx_pcalloc(cf->pool, (count ? count : 1) * sizeof *site->entry);
    site->told = ngx_pcalloc(cf->pool, count ? count : 1);
    site->place = -1;
    site->count = count; /* make_room looks at it; nx_site_enter counts anew */
    make_room(site, cf);
    site->count = 0;
    site->place_of = ngx_pcalloc(cf->pool, (size_t)site->desc.capacity * sizeof *site->place_of);
    if (!site->entry || !site->told || !site->place_of) return NULL;
    for (i = 0; i < site->desc.capacity; i++) site->place_of[i] = -1;
    return site;
}

/* A server that is listed twice is two; a name that is too long keeps its start and a hash of the whole. */
bool nx_site_enter(nx_site *site, ngx_conf_t *cf, const ngx_str_t *name, ngx_int_t weight, ngx_uint_t down)
{
    nx_entry *e = &site->entry[site->count];
    u_char *text = ngx_pnalloc(cf->pool, NX_NAME_MOST), *end;
    ngx_uint_t i, twin = 1;

    if (!text) return false;
    if (name->len < 100) end = ngx_snprintf(text, NX_NAME_MOST - 1, "%V", name);
    else end = ngx_snprintf(text, NX_NAME_MOST - 1, "%*s~%xL", (size_t)90, name->data, nx_hash(name->data, name->len));
    e->name.data = text;
    e->name.len = (size_t)(end - text);
    for (i = 0; i < site->count; i++) {
        const ngx_str_t *other = &site->entry[i].name;
        bool same = other->len >= e->name.len && ngx_strncmp(other->data, text, e->name.len) == 0;
        twin += same && (other->len == e->name.len || other->data[e->name.len] == '#');
    }
    if (twin > 1) end = ngx_snprintf(end, (size_t)(text + NX_NAME_MOST - 1 - end), "#%ui", twin);
    *end = '\0';
    e->name.len = (size_t)(end - text);
    e->weight = (float)weight;
    e->down = down;
    e->index = -1;
    site->count++;
    return true;
}

/* What must be the same for a block to be handed over. */
static uint64_t layout_hash(const nx_site *site)
{
    const rllb_balancer_desc *d = &site->desc;
    u_char text[200], *end;

    end = ngx_snprintf(text, sizeof text, "%d %d %d %d %d %d %d %uz %d %.6f %.6f", (int)d->policy, (int)d->capacity,
                       (int)d->workers, (int)d->slots, (int)d->features, (int)d->form, (int)d->table,
                       rllb_balancer_shared_size(d), (int)d->d, (double)d->a, (double)d->gamma);
    return nx_hash(text, (size_t)(end - text));
}

/* ---- the segment ----------------------------------------------------------------------------------------------- */

static rllb_balancer *handle_open(nx_site *site, int32_t worker, bool join)
{
    rllb_balancer_desc d = site->desc;

    d.shared = (u_char *)site->shared + block_at(site);
    d.shared_size = rllb_balancer_shared_size(&site->desc);
    d.worker = worker;
    d.join = join;
    return rllb_balancer_create(&d);
}

static bool block_begin(nx_site *site, ngx_slab_pool_t *pool)
{
    size_t size = block_at(site) + rllb_balancer_shared_size(&site->desc);
    bool ok;
    int32_t i;

    site->shared = ngx_slab_calloc(pool, size);
    if (!site->shared) return false;
    ok = mutex_create(&site->shared->desk) && mutex_create(&site->shared->keeper);
    for (i = 0; i < site->desc.workers && ok; i++) ok = mutex_create(&site->shared->place[i]);
    site->shared->tried_s = nx_now(site);
    pool->data = site->shared;
    return ok;
}

/* The first servers; all that come later start slowly. */
static rllb_balancer *first_handle(nx_site *site)
{
    rllb_server_desc *servers = ngx_alloc((site->count ? site->count : 1) * sizeof *servers, ngx_cycle->log);
    rllb_balancer *b;
    ngx_uint_t i;

    if (!servers) return NULL;
    for (i = 0; i < site->count; i++) {
        servers[i].name = (const char *)site->entry[i].name.data;
        servers[i].weight = site->entry[i].weight;
        ngx_memcpy(name_at(site->shared, (int32_t)i), site->entry[i].name.data, site->entry[i].name.len + 1);
    }
    site->desc.servers = servers;
    site->desc.count = (int32_t)site->count;
    b = handle_open(site, -1, false);
    site->desc.servers = NULL;
    site->desc.count = 0;
    ngx_free(servers);
    return b;
}

/* ---- what was learned, from one life of nginx to the next ------------------------------------------------------ */

static bool configured(const nx_site *site, const char *name)
{
    ngx_uint_t i;

    for (i = 0; i < site->count; i++) {
        if (ngx_strcmp(site->entry[i].name.data, name) == 0) return true;
    }
    return false;
}

static const char *state_path(const nx_site *site)
{
    return (const char *)site->settings.state_path.data;
}

static void state_of(nx_site *site, ex_state *s)
{
    ngx_memzero(s, sizeof *s);
    snprintf(s->program, sizeof s->program, "nginx");
    snprintf(s->policy, sizeof s->policy, "%s", rllb_balance_name(site->desc.policy));
    snprintf(s->site, sizeof s->site, "%s", site->desc.name);
    s->form = layout_hash(site);
    s->turn = site->shared->turn;
    s->owner = site->core->user;
    s->capacity = site->desc.capacity;
    s->clock_s = nx_now(site);
    s->names = name_at(site->shared, 0);
    s->stride = NX_NAME_MOST;
    s->block = (const u_char *)site->shared + block_at(site);
    s->block_bytes = rllb_balancer_shared_size(&site->desc);
}

/* Names and block into the segment; what was in flight when they were written is given up. */
static const char *state_take(nx_site *site, const ex_state *s, rllb_balancer **b)
{
    int32_t i, known = 0;

    if (s->capacity != site->desc.capacity || s->block_bytes != rllb_balancer_shared_size(&site->desc)) {
        return "is of other settings or another model";
    }
    for (i = 0; i < s->capacity; i++) known += configured(site, s->names + (size_t)i * s->stride);
    if (!known) return "knows none of these servers";
    ngx_memcpy(name_at(site->shared, 0), s->names, (size_t)s->capacity * NX_NAME_MOST);
    ngx_memcpy((u_char *)site->shared + block_at(site), s->block, s->block_bytes);
    site->shared->offset_s = s->clock_s - machine_s();
    site->shared->tried_s = s->clock_s;
    *b = handle_open(site, -1, true);
    if (!*b) return "is of other settings or another model";
    for (i = 0; i < site->desc.workers; i++) rllb_balancer_resync(*b, i, nx_now(site));
    return NULL;
}

/* A handle on the balancer that the file holds, in a segment that is new. NULL: there is none that is of use. */
static rllb_balancer *state_find(nx_site *site, ngx_log_t *log)
{
    ex_text file = { NULL, 0, 0, false };
    ex_state wanted, there;
    rllb_balancer *b = NULL;
    const char *fault;

    if (!site->settings.state_path.len) return NULL;
    state_of(site, &wanted);
    if (ex_state_read(state_path(site), &wanted, &file, &there, &fault)) fault = state_take(site, &there, &b);
    ex_text_free(&file);
    site->shared->found = b != NULL;
    if (b || !fault) return b;
    ngx_log_error(NGX_LOG_WARN, log, 0, "rllb: upstream \"%V\": %V %s: what was learned before is not used",
                  &site->name, &site->settings.state_path, fault);
    ngx_memzero(name_at(site->shared, 0), (size_t)site->desc.capacity * NX_NAME_MOST);
    site->shared->offset_s = 0;
    site->shared->tried_s = nx_now(site);
    return NULL;
}

/* This configuration is the latest that has the file. */
static void state_turn(nx_site *site)
{
    const char *fault;
    uint64_t turn;

    if (!site->settings.state_path.len) return;
    ex_state_turn(state_path(site), &turn, &fault);
    site->shared->turn = turn + 1;
}

/* The state as bytes, if it is wanted. The desk is the caller's. */
static void *state_pack(nx_site *site, size_t *size)
{
    ex_state s;

    if (!site->settings.state_path.len) return NULL;
    state_of(site, &s);
    return ex_state_pack(&s, size);
}

static const char passed_on[] = "is that of a later nginx by now";

/* NULL: written. *error: the errno behind it. */
static const char *state_write(nx_site *site, const void *bytes, size_t size, int *error)
{
    const char *fault;
    uint64_t turn;

    *error = 0;
    if (!ex_state_turn(state_path(site), &turn, &fault)) return fault;
    if (turn > site->shared->turn) return passed_on;
    *error = ex_state_write(state_path(site), bytes, size);
    return *error ? "cannot be written" : NULL;
}

/* Writes what was packed, and frees it. The log hears of a fault once. */
static void state_keep(nx_site *site, void *bytes, size_t size, ngx_log_t *log)
{
    const char *fault;
    ngx_uint_t level;
    int error;

    if (!bytes) return;
    fault = state_write(site, bytes, size, &error);
    free(bytes);
    if (!fault) {
        site->shared->saved++;
        site->shared->saved_s = nx_now(site);
    } else if (fault != passed_on) {
        site->shared->failed++;
    }
    level = fault == passed_on ? NGX_LOG_NOTICE : NGX_LOG_ERR;
    if (fault && fault != site->save_fault) {
        ngx_log_error(level, log, error, "rllb: upstream \"%V\": %V %s: what is learned is not kept there",
                      &site->name, &site->settings.state_path, fault);
    }
    site->save_fault = fault;
}

void nx_site_saves(const nx_site *site, nx_saves *out)
{
    const nx_shared *s = site->shared;

    out->found = s->found;
    out->saved = s->saved;
    out->failed = s->failed;
    out->ago_s = s->saved ? nx_now(site) - s->saved_s : -1;
}

/* ---- nginx's zone ---------------------------------------------------------------------------------------------- */

/* nginx has the segment: a new one, or with `data` the one of the configuration before. That one goes on should this
   configuration fail later, so nothing is changed in it here. */
static ngx_int_t zone_init(ngx_shm_zone_t *zone, void *data)
{
    nx_site *site = zone->data;
    ngx_slab_pool_t *pool = (ngx_slab_pool_t *)(void *)zone->shm.addr;
    rllb_balancer *b = NULL;

    site->handed_over = data != NULL;
    if (data) {
        site->shared = ((nx_site *)data)->shared;
        b = handle_open(site, -1, true);
    } else if (block_begin(site, pool)) {
        b = state_find(site, zone->shm.log);
        if (!b) b = first_handle(site);
    }
    if (!b) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0, "rllb: upstream \"%V\": its shared memory \"%V\" cannot be used",
                      &site->name, &zone->shm.name);
        return NGX_ERROR;
    }
    rllb_balancer_destroy(b);
    return NGX_OK;
}

static bool folder_is_there(const char *file)
{
    const char *slash = strrchr(file, '/');
    char folder[NGX_MAX_PATH];
    struct stat about;

    if (!slash || slash - file >= (ptrdiff_t)sizeof folder) return false;
    snprintf(folder, sizeof folder, "%.*s/", (int)(slash - file), file);
    return stat(folder, &about) == 0;
}

/* The upstream of the same module that has the same state file; NULL: none. */
static const nx_site *state_twin(const nx_site *site, ngx_conf_t *cf, const void *tag)
{
    const ngx_list_part_t *part;
    const ngx_str_t *path = &site->settings.state_path;
    ngx_uint_t i;

    for (part = &cf->cycle->shared_memory.part; part && path->len; part = part->next) {
        const ngx_shm_zone_t *zone = part->elts;
        for (i = 0; i < part->nelts; i++) {
            const nx_site *other = zone[i].data;
            const ngx_str_t *its = zone[i].tag == tag && other ? &other->settings.state_path : NULL;
            if (its && its->len == path->len && ngx_memcmp(its->data, path->data, path->len) == 0) return other;
        }
    }
    return NULL;
}

static void state_check(const nx_site *site, ngx_conf_t *cf, const void *tag, char *why, size_t size)
{
    const nx_site *twin = state_twin(site, cf, tag);
    size_t bytes = (size_t)site->desc.capacity * EX_STATE_NAME_MOST + rllb_balancer_shared_size(&site->desc);

    if (!site->settings.state_path.len) return;
    if (twin) {
        snprintf(why, size, "state= is that of upstream \"%.*s\" already", (int)twin->name.len,
                 (const char *)twin->name.data);
    } else if (!folder_is_there(state_path(site))) {
        snprintf(why, size, "state=%.100s: there is no such folder", state_path(site));
    } else if (bytes > NX_STATE_MOST) {
        snprintf(why, size, "state= would take %d MB, at most 16 will do: fewer servers= or workers=",
                 (int)(bytes >> 20));
    }
}

/* What could not be told from the `rllb` line alone. */
static bool check(const nx_site *site, ngx_conf_t *cf, const void *tag)
{
    const nx_settings *s = &site->settings;
    int32_t made_for = made_for_of(s->model);
    char why[200] = "";

    if (made_for && made_for != (int32_t)site->count) {
        snprintf(why, sizeof why, "model is made for %d servers, here are %d", (int)made_for, (int)site->count);
    } else if ((int32_t)site->count > site->desc.capacity) {
        snprintf(why, sizeof why, "servers=%d, but there are %d", (int)site->desc.capacity, (int)site->count);
    } else if (!rllb_balancer_shared_size(&site->desc)) {
        snprintf(why, sizeof why, "these settings do not go together");
    } else {
        state_check(site, cf, tag, why, sizeof why);
    }
    if (why[0]) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "rllb: upstream \"%V\": %s in %s:%ui", &site->name, why, s->file,
                      s->line);
    }
    return !why[0];
}

bool nx_site_share(nx_site *site, ngx_conf_t *cf, void *tag)
{
    size_t size;
    ngx_str_t name;
    u_char *end;

    if (!check(site, cf, tag)) return false;
    size = block_at(site) + rllb_balancer_shared_size(&site->desc);
    size += size / 64 + 16 * ngx_pagesize; /* what nginx keeps of the pages */
    size = (size + ngx_pagesize - 1) / ngx_pagesize * ngx_pagesize;
    name.data = ngx_pnalloc(cf->pool, site->name.len + 40);
    if (!name.data) return false;
    end = ngx_sprintf(name.data, "rllb:%s:%V:%016xL", site->protocol, &site->name, layout_hash(site));
    name.len = (size_t)(end - name.data);
    site->zone = ngx_shared_memory_add(cf, &name, size, tag);
    if (!site->zone) return false;
    site->zone->init = zone_init;
    site->zone->data = site;
    return true;
}

/* ---- the master: servers come and go --------------------------------------------------------------------------- */

static int32_t index_of(nx_site *site, const char *name)
{
    int32_t i;

    for (i = 0; i < site->desc.capacity; i++) {
        if (ngx_strcmp(name_at(site->shared, i), name) == 0) return i;
    }
    return -1;
}

/* Gives an entry its index; a newcomer one that is free. */
static void seat(nx_site *site, nx_entry *e, rllb_balancer *b, ngx_log_t *log)
{
    rllb_server_desc server = { (const char *)e->name.data, e->weight };
    rllb_server_info info;
    double now = nx_now(site);

    e->index = index_of(site, server.name);
    if (e->index < 0 && rllb_balancer_add(b, &server, now, &e->index) == RLLB_OK) {
        ngx_memcpy(name_at(site->shared, e->index), e->name.data, e->name.len + 1);
    } else if (e->index >= 0 && rllb_balancer_server(b, e->index, &info) == RLLB_OK) {
        if (info.weight < e->weight || info.weight > e->weight) rllb_balancer_set_weight(b, e->index, e->weight, now);
        if (!e->down && info.state == RLLB_SERVER_DOWN) rllb_balancer_set_state(b, e->index, RLLB_SERVER_UP, now);
    } else {
        e->index = -1;
        ngx_log_error(NGX_LOG_WARN, log, 0, "rllb: upstream \"%V\": no room for %V; servers=%d or more is needed",
                      &site->name, &e->name, (int)(site->count + 1));
    }
    if (e->index >= 0 && e->down) rllb_balancer_set_state(b, e->index, RLLB_SERVER_DOWN, now);
}

static void settle_with(nx_site *site, rllb_balancer *b, ngx_log_t *log)
{
    int32_t j;
    ngx_uint_t i;

    for (j = 0; j < site->desc.capacity; j++) {
        char *name = name_at(site->shared, j);
        if (!*name || configured(site, name)) continue;
        rllb_balancer_remove(b, j, nx_now(site));
        *name = '\0';
    }
    for (i = 0; i < site->count; i++) {
        nx_entry *e = &site->entry[i];
        seat(site, e, b, log);
        if (e->index >= 0) site->place_of[e->index] = (int32_t)i;
    }
    rllb_balancer_set_trust(b, site->desc.shadow, (float)(0.01 * site->settings.blend), nx_now(site));
}

bool nx_site_settle(nx_site *site, ngx_cycle_t *cycle)
{
    nx_shared *s = site->shared;
    rllb_balancer *b;

    mutex_wait(&s->desk);
    b = handle_open(site, -1, true);
    if (b) settle_with(site, b, cycle->log);
    state_turn(site);
    s->generation++;
    pthread_mutex_unlock(&s->desk);
    if (!b) ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "rllb: upstream \"%V\": no memory", &site->name);
    rllb_balancer_destroy(b);
    if (b && site->handed_over) {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0, "rllb: upstream \"%V\" goes on with what it has learned",
                      &site->name);
    } else if (b && s->found && !ngx_test_config) {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0, "rllb: upstream \"%V\" goes on with what %V holds", &site->name,
                      &site->settings.state_path);
    }
    return b != NULL;
}

/* ---- a worker -------------------------------------------------------------------------------------------------- */

/* Places that dead workers left come first: what these had in flight is given up at once. */
static int32_t place_take(nx_site *site)
{
    int32_t i, taken = -1;
    bool dead;

    for (i = 0; i < site->desc.workers; i++) {
        if (!mutex_try(&site->shared->place[i], &dead)) continue;
        if (taken >= 0 && !dead) {
            pthread_mutex_unlock(&site->shared->place[i]);
            continue;
        }
        if (taken >= 0) pthread_mutex_unlock(&site->shared->place[taken]);
        taken = i;
        if (dead) break;
    }
    return taken;
}

static void control(void *self, const float *observation, int32_t observations, float *action, int32_t actions)
{
    nx_site *site = self;

    rllb_nn_policy_control(site->network, observation, observations, action, actions);
}

static bool worker_begin(nx_site *site, ngx_log_t *log)
{
    site->place = place_take(site);
    if (site->place < 0) {
        if (!site->said_full) {
            ngx_log_error(NGX_LOG_WARN, log, 0, "rllb: upstream \"%V\": no place among workers=%d; in turn until one "
                          "is free", &site->name, (int)site->desc.workers);
        }
        site->said_full = true;
        return false;
    }
    if (site->settings.model && !site->network) {
        site->network = ex_model_network(site->settings.model, site->desc.capacity);
        site->desc.control = control;
        site->desc.control_self = site;
    }
    if (!site->settings.model || site->network) site->balancer = handle_open(site, site->place, true);
    if (!site->balancer) {
        pthread_mutex_unlock(&site->shared->place[site->place]);
        site->place = -1;
        ngx_log_error(NGX_LOG_ALERT, log, 0, "rllb: upstream \"%V\": no memory; servers are taken in turn",
                      &site->name);
        return false;
    }
    site->shared->pid[site->place] = ngx_pid;
    return true;
}

/* ---- the keeper ------------------------------------------------------------------------------------------------ */

static bool keeper_take(nx_site *site)
{
    bool dead;

    if (ngx_exiting || ngx_quit || ngx_terminate || site->shared->generation != site->generation) return false;
    if (!mutex_try(&site->shared->keeper, &dead)) return false;
    site->shared->keeper_pid = ngx_pid;
    ngx_memset(site->told, NEVER, site->count);
    site->save_fault = NULL;
    return true;
}

/* Its last act, unless the next generation is at it, which has the same block. */
static void keeper_drop(nx_site *site, ngx_log_t *log)
{
    void *bytes = NULL;
    size_t size;
    bool dead;

    if (!site->keeper) return;
    if (site->shared->generation == site->generation && mutex_try(&site->shared->desk, &dead)) {
        bytes = state_pack(site, &size);
        pthread_mutex_unlock(&site->shared->desk);
    }
    if (bytes) state_keep(site, bytes, size, log);
    site->keeper = false;
    site->shared->keeper_pid = 0;
    pthread_mutex_unlock(&site->shared->keeper);
}

/* Gives up what workers had in flight that died and were not replaced. */
static void bury(nx_site *site, double now)
{
    int32_t i;
    bool dead;

    for (i = 0; i < site->desc.workers; i++) {
        if (i == site->place || !mutex_try(&site->shared->place[i], &dead)) continue;
        if (dead) {
            rllb_balancer_resync(site->balancer, i, now);
            site->shared->pid[i] = 0;
        }
        pthread_mutex_unlock(&site->shared->place[i]);
    }
}

/* nginx leaves servers alone that are marked down or failed too often: the balancer is told, so that it need not find
   out request by request. */
static void tell(nx_site *site, double now)
{
    ngx_uint_t i;

    for (i = 0; i < site->count; i++) {
        nx_entry *e = &site->entry[i];
        u_char out = e->down || (site->counts_shared && site->is_out(e->peer, ngx_time()));
        if (e->index < 0 || site->told[i] == out) continue;
        rllb_balancer_set_state(site->balancer, e->index, out ? RLLB_SERVER_DOWN : RLLB_SERVER_UP, now);
        site->told[i] = out;
    }
}

static bool state_is_due(nx_site *site, double now)
{
    if (now - site->shared->tried_s < 1e-3 * site->settings.save_ms) return false;
    site->shared->tried_s = now;
    return true;
}

static void keep(nx_site *site, ngx_log_t *log)
{
    double now = nx_now(site);
    void *bytes = NULL;
    size_t size = 0;
    bool dead;

    if (site->shared->generation != site->generation || ngx_exiting || ngx_quit) {
        keeper_drop(site, log);
        return;
    }
    if (!mutex_try(&site->shared->desk, &dead)) return; /* the master is at it: a reload */
    if (site->shared->generation == site->generation) {
        tell(site, now);
        if (rllb_balancer_tick(site->balancer, now)) bury(site, now);
        if (state_is_due(site, now)) bytes = state_pack(site, &size);
    }
    pthread_mutex_unlock(&site->shared->desk);
    state_keep(site, bytes, size, log); /* a disk that hangs holds up this worker, and no other */
}

/* A tick is due once an interval; nginx's clock stands still between events, so it is asked for more often. */
static ngx_msec_t beat(const nx_site *site)
{
    return (ngx_msec_t)(site->settings.interval_ms / 4) + 1;
}

static void on_timer(ngx_event_t *event)
{
    nx_site *site = event->data;

    if (!site->balancer) worker_begin(site, event->log);
    if (site->balancer && !site->keeper) site->keeper = keeper_take(site);
    if (site->keeper) keep(site, event->log);
    if (!ngx_exiting) ngx_add_timer(event, beat(site));
}

void nx_site_join(nx_site *site, ngx_cycle_t *cycle)
{
    site->generation = site->shared->generation;
    site->balancer = NULL;
    site->network = NULL;
    site->keeper = false;
    worker_begin(site, cycle->log);
    ngx_memzero(&site->timer, sizeof site->timer);
    site->timer.handler = on_timer;
    site->timer.data = site;
    site->timer.log = cycle->log;
    site->timer.cancelable = 1; /* nobody waits for it at the end */
    ngx_add_timer(&site->timer, beat(site));
}

void nx_site_leave(nx_site *site)
{
    keeper_drop(site, ngx_cycle->log);
    rllb_balancer_destroy(site->balancer);
    rllb_nn_policy_destroy(site->network);
    site->balancer = NULL;
    site->network = NULL;
    if (site->place < 0) return;
    site->shared->pid[site->place] = 0;
    pthread_mutex_unlock(&site->shared->place[site->place]);
    site->place = -1;
}

/* Three policies go by what servers say. Of one that says nothing they are told what all of nginx has there. */
void nx_site_report(nx_site *site, int32_t index, float in_flight, double elapsed_s, double now_s)
{
    rllb_balance policy = site->desc.policy;
    rllb_server_info info;
    rllb_report report;

    if (policy != RLLB_BALANCE_PREQUAL && policy != RLLB_BALANCE_C3 && policy != RLLB_BALANCE_AWCMP) return;
    if (in_flight < 0) {
        if (rllb_balancer_server(site->balancer, index, &info) != RLLB_OK) return;
        in_flight = (float)info.in_flight;
    }
    report.in_flight = report.utilisation = in_flight;
    report.latency_s = (float)elapsed_s;
    rllb_balancer_report(site->balancer, index, &report, now_s);
}

int32_t nx_site_workers(const nx_site *site, const ngx_pid_t **pids, ngx_pid_t *keeper)
{
    *pids = site->shared->pid;
    *keeper = site->shared->keeper_pid;
    return site->desc.workers;
}
