/* http.c - ngx_http_rllb_module: `rllb` in an upstream of HTTP, and `rllb_status`

       upstream backend {
           zone backend 256k;
           server 10.0.0.1:8080;
           server 10.0.0.2:8080;
           rllb policy=learned model=/etc/nginx/rllb-balancer.safetensors;
           keepalive 32;
       }

   docs/nginx.md is the manual. */

#include "site.h"

#include <ngx_http.h>

#include "status.h"

extern ngx_module_t ngx_http_rllb_module;

#define NX(name) ngx_http_upstream_##name
typedef ngx_http_request_t nx_owner;
#define nx_pool_of(owner) ((owner)->pool)
#define nx_protocol "http"
#define nx_tag &ngx_http_rllb_module
#define nx_conf_of(us) ((nx_conf *)ngx_http_conf_upstream_srv_conf(us, ngx_http_rllb_module))
#define nx_main_of(cycle) \
    ((ngx_http_upstream_main_conf_t *)ngx_http_cycle_get_module_main_conf(cycle, ngx_http_upstream_module))

#include "peers.h"

static uint64_t nx_key_of(ngx_http_request_t *r, nx_site *site)
{
    ngx_str_t text;

    if (!site->key || ngx_http_complex_value(r, site->key, &text) != NGX_OK || !text.len) return 0;
    return nx_hash(text.data, text.len);
}

/* A body that broke off is no answer. */
static bool broke_off(const ngx_http_upstream_t *u)
{
    const ngx_event_pipe_t *p = u->pipe;

    if (!p || !u->buffering) return u->peer.connection && u->peer.connection->read->eof && u->length > 0;
    return !p->upstream_done && (p->upstream_error || (p->upstream_eof && p->length != -1 && p->length != 0));
}

static rllb_outcome nx_outcome_of(ngx_http_request_t *r, ngx_uint_t state)
{
    const ngx_http_upstream_t *u = r->upstream;
    ngx_uint_t status = u->headers_in.status_n;

    if (state & NGX_PEER_FAILED) return RLLB_OUTCOME_FAILED;
    if (r->connection->error || (u->pipe && u->pipe->downstream_error)) return RLLB_OUTCOME_CANCELLED;
    if (status == 500 || (status >= 502 && status <= 504)) return RLLB_OUTCOME_FAILED;
    return status && broke_off(u) ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK;
}

static bool header_number(const ngx_http_upstream_t *u, const ngx_str_t *name, float *out)
{
    const ngx_list_part_t *part;
    char text[32];
    double value;
    ngx_uint_t i;

    for (part = &u->headers_in.headers.part; part; part = part->next) {
        const ngx_table_elt_t *h = part->elts;
        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len != name->len || ngx_strncasecmp(h[i].key.data, name->data, name->len) != 0) continue;
            ngx_cpystrn((u_char *)text, h[i].value.data, ngx_min(h[i].value.len + 1, sizeof text));
            if (!ex_parse_double(text, &value) || !(value >= 0 && value < 1e9)) return false;
            *out = (float)value;
            return true;
        }
    }
    return false;
}

static void nx_report(ngx_http_request_t *r, nx_site *site, int32_t index, double elapsed_s, double now_s)
{
    const ngx_str_t *header = &site->settings.report;
    float said = 0;
    bool is_said = header->len && header_number(r->upstream, header, &said);

    nx_site_report(site, index, is_said ? said : -1, elapsed_s, now_s);
}

/* ---- configuration --------------------------------------------------------------------------------------------- */

static bool key_compile(ngx_conf_t *cf, nx_conf *conf)
{
    ngx_http_compile_complex_value_t c;

    if (!conf->settings.key.len) return true;
    ngx_memzero(&c, sizeof c);
    conf->key = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (!conf->key) return false;
    c.cf = cf;
    c.value = &conf->settings.key;
    c.complex_value = conf->key;
    return ngx_http_compile_complex_value(&c) == NGX_OK;
}

static char *set_rllb(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    ngx_http_upstream_srv_conf_t *us = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);
    nx_conf *conf = data;

    if (conf->configured) return "is duplicate";
    if (us->peer.init_upstream) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "rllb: must be the only method of its upstream, and stand before "
                           "keepalive");
        return NGX_CONF_ERROR;
    }
    conf->configured = true;
    if (!nx_settings_line(&conf->settings, cf) || !key_compile(cf, conf)) return NGX_CONF_ERROR;
    us->peer.init_upstream = nx_init_upstream;
    us->flags = NGX_HTTP_UPSTREAM_CREATE | NGX_HTTP_UPSTREAM_WEIGHT | NGX_HTTP_UPSTREAM_MAX_CONNS
                | NGX_HTTP_UPSTREAM_MAX_FAILS | NGX_HTTP_UPSTREAM_FAIL_TIMEOUT | NGX_HTTP_UPSTREAM_DOWN
                | NGX_HTTP_UPSTREAM_BACKUP;
    return NGX_CONF_OK;
}

static void *create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(nx_conf));
}

static ngx_command_t commands[] = {
    { ngx_string("rllb"), NGX_HTTP_UPS_CONF | NGX_CONF_ANY, set_rllb, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },
    { ngx_string("rllb_status"), NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1,
      nx_status_set, 0, 0, NULL },
    ngx_null_command
};

static ngx_http_module_t context = { NULL, NULL, NULL, NULL, create_conf, NULL, NULL, NULL };

ngx_module_t ngx_http_rllb_module = {
    NGX_MODULE_V1, &context, commands, NGX_HTTP_MODULE, NULL, nx_init_module, nx_init_process, NULL, NULL,
    nx_exit_process, NULL, NGX_MODULE_V1_PADDING
};

/* Of HTTP, and of streams if their module of the same build is loaded too. */
bool nx_status_sites(ngx_array_t *sites)
{
    bool (*more)(ngx_array_t *);
    ngx_uint_t i;

    if (!nx_list_sites(sites)) return false;
    for (i = 0; ngx_cycle->modules[i]; i++) {
        const ngx_module_t *m = ngx_cycle->modules[i];
        if (ngx_strcmp(m->name, "ngx_stream_rllb_module") != 0 || m->spare_hook1 != NX_BUILD) continue;
        more = (bool (*)(ngx_array_t *))m->spare_hook0;
        return more(sites);
    }
    return true;
}
