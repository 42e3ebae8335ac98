/* status.c - see status.h

   Everything is written into one buffer of the request's pool. The counts are read while workers serve, each by
   itself: picks and ends may be some requests apart. */

#include "status.h"

/* Text that grows in a pool. */
typedef struct text {
    ngx_pool_t *pool;
    u_char *start, *last, *end;
    bool failed;
} text;

static bool text_room(text *t, size_t more)
{
    size_t used = (size_t)(t->last - t->start), size = (size_t)(t->end - t->start);
    u_char *grown;

    if (t->failed || (size_t)(t->end - t->last) >= more) return !t->failed;
    size = 2 * size + more + 1024;
    grown = ngx_pnalloc(t->pool, size);
    t->failed = !grown;
    if (t->failed) return false;
    if (used) ngx_memcpy(grown, t->start, used);
    t->start = grown;
    t->last = grown + used;
    t->end = grown + size;
    return true;
}

static void add(text *t, const char *format, ...)
{
    va_list values;

    if (!text_room(t, 400)) return;
    va_start(values, format);
    t->last = ngx_vslprintf(t->last, t->end, format, values);
    va_end(values);
}

static void add_bytes(text *t, const u_char *bytes, size_t size)
{
    if (text_room(t, size)) t->last = ngx_cpymem(t->last, bytes, size);
}

static void add_string(text *t, const u_char *bytes, size_t size)
{
    size_t escaped = size + ngx_escape_json(NULL, (u_char *)(uintptr_t)bytes, size);

    if (!text_room(t, escaped + 2)) return;
    *t->last++ = '"';
    t->last = (u_char *)ngx_escape_json(t->last, (u_char *)(uintptr_t)bytes, size);
    *t->last++ = '"';
}

/* Of a worker that has no handle (yet) there is nothing to tell. */
static rllb_balancer *balancer_of(nx_site *const *site)
{
    return (*site)->balancer;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static const char *state_name(rllb_server_state state)
{
    static const char *const names[] = { "none", "up", "draining", "down", "ejected" };

    return names[state];
}

static void add_server(text *t, const nx_entry *e, const rllb_server_info *s)
{
    add(t, "{\"name\":");
    add_string(t, e->name.data, e->name.len);
    add(t, ",\"index\":%D,\"state\":\"%s\",\"usable\":%s,\"weight\":%.6f,\"weight_in_force\":%.6f,\"in_flight\":%L",
        e->index, state_name(s->state), s->usable ? "true" : "false", (double)s->weight, (double)s->weight_in_force,
        s->in_flight);
    add(t, ",\"picks\":%uL,\"done\":%uL,\"failed\":%uL,\"lost\":%uL,\"ejections\":%uL", s->picks, s->done, s->failed,
        s->lost, s->ejections);
    add(t, ",\"recent_ms\":%.6f,\"unloaded_ms\":%.6f}", 1000.0 * (double)s->duration_s,
        1000.0 * (double)s->unloaded_s);
}

static void add_servers(text *t, const nx_site *site)
{
    rllb_server_info info;
    ngx_uint_t i;
    bool first = true;

    add(t, ",\"servers\":[");
    for (i = 0; i < site->count; i++) {
        const nx_entry *e = &site->entry[i];
        if (e->index < 0 || rllb_balancer_server(site->balancer, e->index, &info) != RLLB_OK) continue;
        add(t, first ? "" : ",");
        add_server(t, e, &info);
        first = false;
    }
    add(t, "]");
}

static void add_counters(text *t, const rllb_balancer *b)
{
    rllb_counters c;

    rllb_balancer_counters(b, &c);
    add(t, ",\"counters\":{\"no_server\":%uL", c.no_server);
#define ADD(name, words) if (strcmp(#name, "no_server") != 0) add(t, ",\"" #name "\":%uL", c.name);
    RLLB_COUNTER_LIST(ADD)
#undef ADD
    add(t, "}");
}

static void add_workers(text *t, const nx_site *site)
{
    const ngx_pid_t *pids;
    ngx_pid_t keeper;
    int32_t i, places = nx_site_workers(site, &pids, &keeper);
    bool first = true;

    add(t, ",\"places\":%D,\"keeper\":%P,\"workers\":[", places, keeper);
    for (i = 0; i < places; i++) {
        if (!pids[i]) continue;
        add(t, first ? "%P" : ",%P", pids[i]);
        first = false;
    }
    add(t, "]");
}

static void add_state(text *t, const nx_site *site)
{
    nx_saves s;

    if (!site->settings.state_path.len) return;
    nx_site_saves(site, &s);
    add(t, ",\"state\":{\"file\":");
    add_string(t, site->settings.state_path.data, site->settings.state_path.len);
    add(t, ",\"found\":%s,\"saved\":%uL,\"failed\":%uL", s.found ? "true" : "false", s.saved, s.failed);
    if (s.ago_s >= 0) add(t, ",\"saved_s_ago\":%.3f}", s.ago_s);
    else add(t, ",\"saved_s_ago\":null}");
}

static void add_site(text *t, const nx_site *site)
{
    const nx_settings *s = &site->settings;

    add(t, "{\"upstream\":");
    add_string(t, site->name.data, site->name.len);
    add(t, ",\"protocol\":\"%s\"", site->protocol);
    add(t, ",\"policy\":\"%s\",\"shadow\":%s,\"blend\":%.3f,\"interval_ms\":%.3f",
        rllb_balance_name(site->desc.policy), site->desc.shadow ? "true" : "false", s->blend, s->interval_ms);
    if (s->model) add(t, ",\"model\":");
    if (s->model) add_string(t, s->model_path.data, s->model_path.len);
    add_state(t, site);
    add_workers(t, site);
    add_counters(t, site->balancer);
    add_servers(t, site);
    add(t, "}");
}

static void add_json(text *t, const ngx_array_t *sites)
{
    nx_site **site = sites->elts;
    ngx_uint_t i;
    bool first = true;

    add(t, "{\"pid\":%P,\"upstreams\":[", ngx_pid);
    for (i = 0; i < sites->nelts; i++) {
        if (!balancer_of(&site[i])) continue;
        add(t, first ? "" : ",");
        add_site(t, site[i]);
        first = false;
    }
    add(t, "]}\n");
}

/* ---- Prometheus ------------------------------------------------------------------------------------------------ */

/* One balancer's page, and how far it has been copied. */
typedef struct page {
    u_char *at, *end;
} page;

static bool page_write(page *p, const rllb_balancer *b, ngx_pool_t *pool)
{
    size_t size = rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, 0, NULL, 0);

    size += size / 4; /* counts grow meanwhile */
    p->at = ngx_pnalloc(pool, size);
    if (!p->at) return false;
    rllb_balancer_metrics(b, RLLB_METRICS_PROMETHEUS, 0, (char *)p->at, size);
    p->end = p->at + ngx_strlen(p->at);
    return true;
}

static u_char *line_end(const page *p)
{
    u_char *end = ngx_strlchr(p->at, p->end, '\n');

    return end ? end + 1 : p->end;
}

/* The lines at hand that are, or are not, comments. */
static void copy_lines(text *t, page *p, bool comments, bool silent)
{
    while (p->at < p->end && (*p->at == '#') == comments) {
        u_char *end = line_end(p);
        if (!silent) add_bytes(t, p->at, (size_t)(end - p->at));
        p->at = end;
    }
}

/* All pages have the same families in the same order; Prometheus wants each but once, with the samples of all. A
   balancer without servers lacks families, so a page whose turn has not come waits. */
static void add_pages(text *t, page *pages, ngx_uint_t count)
{
    ngx_uint_t i, longest;
    size_t length;

    for (;;) {
        for (i = 0, longest = 0; i < count; i++) {
            if (pages[i].end - pages[i].at > 0 && pages[longest].at == pages[longest].end) longest = i;
        }
        if (pages[longest].at == pages[longest].end) return;
        length = (size_t)(line_end(&pages[longest]) - pages[longest].at);
        for (i = longest + 1; i < count; i++) {
            page *p = &pages[i];
            if ((size_t)(p->end - p->at) < length || ngx_memcmp(p->at, pages[longest].at, length) != 0) continue;
            copy_lines(t, p, true, true);
        }
        copy_lines(t, &pages[longest], true, false);
        for (i = 0; i < count; i++) copy_lines(t, &pages[i], false, false);
    }
}

static void add_prometheus(text *t, const ngx_array_t *sites)
{
    nx_site **site = sites->elts;
    page *pages = ngx_pcalloc(t->pool, (sites->nelts + 1) * sizeof *pages);
    ngx_uint_t i, count = 0;

    t->failed = !pages;
    for (i = 0; i < sites->nelts && !t->failed; i++) {
        if (balancer_of(&site[i])) t->failed = !page_write(&pages[count++], site[i]->balancer, t->pool);
    }
    if (!t->failed && count) add_pages(t, pages, count);
}

/* ---- the handler ----------------------------------------------------------------------------------------------- */

static ngx_int_t answer(ngx_http_request_t *r, bool prometheus)
{
    ngx_array_t *sites = ngx_array_create(r->pool, 4, sizeof(nx_site *));
    text t = { r->pool, NULL, NULL, NULL, false };
    ngx_chain_t out;
    ngx_int_t rc;

    if (!sites || !nx_status_sites(sites)) return NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (prometheus) add_prometheus(&t, sites);
    else add_json(&t, sites);
    out.buf = ngx_calloc_buf(r->pool);
    if (t.failed || !out.buf) return NGX_HTTP_INTERNAL_SERVER_ERROR;
    out.next = NULL;
    out.buf->pos = t.start;
    out.buf->last = t.last;
    out.buf->memory = t.last > t.start;
    out.buf->last_buf = r == r->main;
    out.buf->last_in_chain = 1;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = t.last - t.start;
    rc = ngx_http_send_header(r);
    return rc == NGX_ERROR || rc > NGX_OK || r->header_only ? rc : ngx_http_output_filter(r, &out);
}

static ngx_int_t handle(ngx_http_request_t *r, bool prometheus)
{
    static const ngx_str_t types[] = { ngx_string("application/json"),
                                       ngx_string("text/plain; version=0.0.4; charset=utf-8") };
    ngx_int_t rc;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) return NGX_HTTP_NOT_ALLOWED;
    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) return rc;
    r->headers_out.content_type = types[prometheus];
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    return answer(r, prometheus);
}

static ngx_int_t handle_json(ngx_http_request_t *r)
{
    return handle(r, false);
}

static ngx_int_t handle_prometheus(ngx_http_request_t *r)
{
    return handle(r, true);
}

char *nx_status_set(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    ngx_http_core_loc_conf_t *location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t *words = cf->args->elts;
    bool json = cf->args->nelts == 1 || ngx_strcmp(words[1].data, "json") == 0;

    if (!json && ngx_strcmp(words[1].data, "prometheus") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "rllb_status: no \"%V\"; one of: json, prometheus", &words[1]);
        return NGX_CONF_ERROR;
    }
    location->handler = json ? handle_json : handle_prometheus;
    return NGX_CONF_OK;
}
