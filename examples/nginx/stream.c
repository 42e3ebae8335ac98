/* stream.c - ngx_stream_rllb_module: `rllb` in an upstream of TCP or UDP

   A session is what a request is in HTTP: its duration is from the choice of the server to its end. That is the work of
   a server where a session is one question; where clients stay connected, policies that go by what is in flight are
   better than those that go by durations. */

#include "site.h"

#include <ngx_stream.h>

extern ngx_module_t ngx_stream_rllb_module;

#define NX(name) ngx_stream_upstream_##name
typedef ngx_stream_session_t nx_owner;
#define nx_pool_of(owner) ((owner)->connection->pool)
#define nx_protocol "stream"
#define nx_tag &ngx_stream_rllb_module
#define nx_conf_of(us) ((nx_conf *)ngx_stream_conf_upstream_srv_conf(us, ngx_stream_rllb_module))
#define nx_main_of(cycle) \
    ((ngx_stream_upstream_main_conf_t *)ngx_stream_cycle_get_module_main_conf(cycle, ngx_stream_upstream_module))

#include "peers.h"

static uint64_t nx_key_of(ngx_stream_session_t *s, nx_site *site)
{
    ngx_str_t text;

    if (!site->key || ngx_stream_complex_value(s, site->key, &text) != NGX_OK || !text.len) return 0;
    return nx_hash(text.data, text.len);
}

/* Who ended a session that was connected, and why, nginx does not tell. */
static rllb_outcome nx_outcome_of(ngx_stream_session_t *s, ngx_uint_t state)
{
    return state & NGX_PEER_FAILED ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK;
}

static void nx_report(ngx_stream_session_t *s, nx_site *site, int32_t index, double elapsed_s, double now_s)
{
    nx_site_report(site, index, -1, elapsed_s, now_s);
}

static bool key_compile(ngx_conf_t *cf, nx_conf *conf)
{
    ngx_stream_compile_complex_value_t c;

    if (!conf->settings.key.len) return true;
    ngx_memzero(&c, sizeof c);
    conf->key = ngx_pcalloc(cf->pool, sizeof(ngx_stream_complex_value_t));
    if (!conf->key) return false;
    c.cf = cf;
    c.value = &conf->settings.key;
    c.complex_value = conf->key;
    return ngx_stream_compile_complex_value(&c) == NGX_OK;
}

static char *set_rllb(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    ngx_stream_upstream_srv_conf_t *us = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_upstream_module);
    nx_conf *conf = data;

    if (conf->configured) return "is duplicate";
    if (us->peer.init_upstream) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "rllb: must be the only method of its upstream");
        return NGX_CONF_ERROR;
    }
    conf->configured = true;
    if (!nx_settings_line(&conf->settings, cf) || !key_compile(cf, conf)) return NGX_CONF_ERROR;
    us->peer.init_upstream = nx_init_upstream;
    us->flags = NGX_STREAM_UPSTREAM_CREATE | NGX_STREAM_UPSTREAM_WEIGHT | NGX_STREAM_UPSTREAM_MAX_CONNS
                | NGX_STREAM_UPSTREAM_MAX_FAILS | NGX_STREAM_UPSTREAM_FAIL_TIMEOUT | NGX_STREAM_UPSTREAM_DOWN
                | NGX_STREAM_UPSTREAM_BACKUP;
    return NGX_CONF_OK;
}

static void *create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(nx_conf));
}

static ngx_command_t commands[] = {
    { ngx_string("rllb"), NGX_STREAM_UPS_CONF | NGX_CONF_ANY, set_rllb, NGX_STREAM_SRV_CONF_OFFSET, 0, NULL },
    ngx_null_command
};

static ngx_stream_module_t context = { NULL, NULL, NULL, NULL, create_conf, NULL };

/* The spare hooks tell the module of HTTP, which has the status page, of the sites here. */
ngx_module_t ngx_stream_rllb_module = {
    NGX_MODULE_V1, &context, commands, NGX_STREAM_MODULE, NULL, nx_init_module, nx_init_process, NULL, NULL,
    nx_exit_process, NULL, (uintptr_t)nx_list_sites, NX_BUILD, 0, 0, 0, 0, 0, 0
};
