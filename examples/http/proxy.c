/* proxy.c - a small HTTP/1.1 reverse proxy: rllb.h where it belongs, in front of servers

   One process, one thread, one event loop (libuv). Clients' requests are read strictly, and each is sent to the server
   that the balancer picks: by any policy of rllb.h, by tabular Q-learning, or by a learned model. proxy.h says which
   file does what, upstream.c what is tried again and when, message.h what is let through.

   Build:   make build/http/proxy (libuv and http-parser; `sh setup.sh deps` installs them)
   Run:     build/http/proxy --help
   Prints:  "listening on ADDRESS:PORT" and "admin on ADDRESS:PORT" once it is ready
   Signals: SIGHUP reads the settings again; if they are wrong it says so and goes on as before
            SIGTERM, SIGINT end it: no new connections, answers that are under way go out (for the seconds of "timeouts
            drain=" at most), what was learned is saved; the second one ends it at once */

#include "proxy.h"

#include "files.h"
#include "options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "relay.h"

enum { BACKLOG = 4096, SAVE_MS = 10000, DRAIN_LOOK_MS = 10, FILES_BESIDES = 64 };

typedef struct listener {
    uv_tcp_t tcp;
} listener;

static px_proxy proxy;
static listener *listening;
static uv_timer_t tick_timer, save_timer, drain_timer;
static uv_signal_t signals[3];
static uint64_t drain_ends_ms, saved_attempts;
static bool stopped;

double px_now_s(void)
{
    return 1e-9 * (double)uv_hrtime();
}

/* ---- the listener ------------------------------------------------------------------------------------------- */

static void say_address(const char *what, const char *host, int32_t port)
{
    printf(strchr(host, ':') ? "%s on [%s]:%d\n" : "%s on %s:%d\n", what, host, (int)port);
    fflush(stdout);
}

static void free_listener(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_listener(listener *l)
{
    if (!l) return;
    if (proxy.clients) px_clients_forget(proxy.clients, (uv_stream_t *)&l->tcp);
    uv_close((uv_handle_t *)&l->tcp, free_listener);
}

static void on_connection(uv_stream_t *stream, int status)
{
    if (status == 0 && proxy.clients) px_clients_accept(proxy.clients, stream);
}

static int32_t port_of(const uv_tcp_t *tcp)
{
    struct sockaddr_storage address;
    int size = (int)sizeof address;

    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &size) < 0) return 0;
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static listener *open_listener(const char *host, int32_t port)
{
    listener *l = calloc(1, sizeof *l);
    struct sockaddr_storage address;
    int status;

    if (!l) {
        ex_fail("out of memory");
        return NULL;
    }
    uv_tcp_init(proxy.loop, &l->tcp);
    l->tcp.data = l;
    memset(&address, 0, sizeof address);
    if (strchr(host, ':')) status = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    else status = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (status == 0) status = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&address, 0);
    if (status == 0) status = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (status == 0) return l;
    ex_fail("listen: %s:%d: %s", host, (int)port, uv_strerror(status));
    close_listener(l);
    return NULL;
}

/* ---- open files --------------------------------------------------------------------------------------------- */

/* A client may need a connection to a server besides its own, and idle ones are kept. */
static bool fit_clients(px_config *c)
{
    double kept = (double)c->server_count * ((double)c->idle_connections + 1) + FILES_BESIDES;
    double wanted = 2.0 * c->clients + kept, least = 2 + FILES_BESIDES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return true;
    if ((double)limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || (double)limit.rlim_max > wanted ? (rlim_t)wanted
                                                                                           : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) getrlimit(RLIMIT_NOFILE, &limit);
    }
    if ((double)limit.rlim_cur >= wanted) return true;
    if ((double)limit.rlim_cur < least) {
        ex_fail("%d open files are too few (see `ulimit -n`)", (int)limit.rlim_cur);
        return false;
    }
    if (kept > (double)limit.rlim_cur / 2) kept = (double)limit.rlim_cur / 2;
    c->clients = (int32_t)(((double)limit.rlim_cur - kept) / 2);
    ex_warn("at most %d clients at once, since %d files may be open (see `ulimit -n`)", (int)c->clients,
            (int)limit.rlim_cur);
    return true;
}

/* ---- timers ------------------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    px_policy_tick(proxy.policy, px_now_s());
}

static void start_ticks(void)
{
    double half_ms = 500 * proxy.config.interval_s;
    uint64_t ms = half_ms < 1 ? 1 : (uint64_t)half_ms;

    uv_timer_start(&tick_timer, on_tick, ms, ms);
}

/* What was learned, on its way to the disk: that may take long, and is done by a thread of libuv's. */
typedef struct saving {
    uv_work_t work;
    void *bytes;
    size_t size;
    uint64_t attempts; /* that it knows of */
    char path[PX_TEXT_MOST];
    bool ok;
} saving;

static saving *under_way;

static bool is_news(void)
{
    return proxy.policy && proxy.config.state[0] && proxy.relay && proxy.relay->attempts != saved_attempts;
}

static void write_state(uv_work_t *work)
{
    saving *s = work->data;

    s->ok = ex_file_write(s->path, s->bytes, s->size);
}

static void wrote_state(uv_work_t *work, int status)
{
    saving *s = work->data;

    if (status == 0 && s->ok) saved_attempts = s->attempts;
    under_way = NULL;
    free(s->bytes);
    free(s);
}

static void on_save(uv_timer_t *timer)
{
    saving *s;

    (void)timer;
    if (!is_news() || under_way || (s = calloc(1, sizeof *s)) == NULL) return;
    s->work.data = s;
    s->attempts = proxy.relay->attempts;
    memcpy(s->path, proxy.config.state, sizeof s->path);
    s->bytes = px_policy_state(proxy.policy, &s->size);
    if (s->bytes && uv_queue_work(proxy.loop, &s->work, write_state, wrote_state) == 0) {
        under_way = s;
        return;
    }
    free(s->bytes);
    free(s);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

/* Everything that keeps the loop running is closed; the rest is freed when it has run. */
static void stop(void)
{
    size_t i;

    if (stopped) return;
    stopped = true;
    close_listener(listening);
    listening = NULL;
    if (proxy.clients) px_clients_close(proxy.clients);
    if (proxy.health) px_health_close(proxy.health);
    if (proxy.admin) px_admin_close(proxy.admin);
    if (proxy.upstream) px_upstream_close(proxy.upstream, true);
    if (proxy.relay) px_relay_close(proxy.relay);
    uv_close((uv_handle_t *)&tick_timer, NULL);
    uv_close((uv_handle_t *)&save_timer, NULL);
    uv_close((uv_handle_t *)&drain_timer, NULL);
    for (i = 0; i < sizeof signals / sizeof *signals; i++) uv_close((uv_handle_t *)&signals[i], NULL);
}

static void on_drain(uv_timer_t *timer)
{
    (void)timer;
    if (px_clients_open(proxy.clients) == 0 || uv_now(proxy.loop) >= drain_ends_ms) stop();
}

static void drain(void)
{
    proxy.draining = true;
    close_listener(listening);
    listening = NULL;
    px_clients_drain(proxy.clients);
    drain_ends_ms = uv_now(proxy.loop) + (uint64_t)(1e3 * proxy.config.drain_s);
    uv_timer_start(&drain_timer, on_drain, 0, DRAIN_LOOK_MS);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    if (number == SIGHUP) px_proxy_reload(&proxy);
    else if (!proxy.draining) drain();
    else stop();
}

static void destroy(void)
{
    if (is_news()) px_policy_save(proxy.policy, proxy.config.state);
    px_clients_destroy(proxy.clients);
    px_upstream_destroy(proxy.upstream);
    if (proxy.watch) px_watch_close(proxy.watch);
    px_policy_destroy(proxy.policy);
    px_relay_destroy(proxy.relay);
}

/* ---- new settings ------------------------------------------------------------------------------------------- */

static bool same_address(const char *host, int32_t port, const char *other_host, int32_t other_port)
{
    return strcmp(host, other_host) == 0 && port == other_port;
}

/* What can fail comes first, and nothing is changed if it does. */
static bool put_in_force(px_config *next)
{
    listener *opened = NULL;
    bool moved = !same_address(next->listen_host, next->listen_port, proxy.config.listen_host,
                               proxy.config.listen_port);

    if (!fit_clients(next)) return false;
    if (moved && (opened = open_listener(next->listen_host, next->listen_port)) == NULL) return false;
    if (!px_policy_reload(proxy.policy, next, px_now_s())) {
        close_listener(opened);
        return false;
    }
    proxy.config = *next;
    if (!opened) return true;
    close_listener(listening);
    listening = opened;
    proxy.listen_port = port_of(&opened->tcp);
    say_address("listening", proxy.config.listen_host, proxy.listen_port);
    return true;
}

/* The page moves, or stays where it was if it cannot. */
static void move_admin(const px_config *old)
{
    px_admin *opened;

    if (same_address(proxy.config.admin_host, proxy.config.admin_port, old->admin_host, old->admin_port)) return;
    opened = proxy.config.admin_port >= 0 ? px_admin_create(&proxy) : NULL;
    if (!opened && proxy.config.admin_port >= 0) {
        memcpy(proxy.config.admin_host, old->admin_host, sizeof proxy.config.admin_host);
        proxy.config.admin_port = old->admin_port;
        return;
    }
    if (proxy.admin) px_admin_close(proxy.admin);
    proxy.admin = opened;
    if (opened) say_address("admin", proxy.config.admin_host, px_admin_port(opened));
}

bool px_proxy_reload(px_proxy *p)
{
    static px_config next, old;

    if (p->draining) return false;
    old = p->config;
    if (!px_config_again(&next) || !put_in_force(&next)) {
        p->reloads_refused++;
        return false;
    }
    px_upstream_reload(p->upstream);
    px_health_reload(p->health);
    px_watch_reload(p->watch);
    move_admin(&old);
    start_ticks();
    p->reloads++;
    printf("settings read again: %d servers, policy %s\n", (int)p->config.server_count, px_policy_name(p->policy));
    fflush(stdout);
    return true;
}

/* ---- the beginning ------------------------------------------------------------------------------------------ */

static void start_handles(void)
{
    static const int numbers[] = { SIGHUP, SIGTERM, SIGINT };
    size_t i;

    uv_timer_init(proxy.loop, &tick_timer);
    uv_timer_init(proxy.loop, &save_timer);
    uv_timer_init(proxy.loop, &drain_timer);
    for (i = 0; i < sizeof signals / sizeof *signals; i++) {
        uv_signal_init(proxy.loop, &signals[i]);
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
}

static bool create(void)
{
    if (!px_policy_create(&proxy.config, px_now_s(), &proxy.policy)) return false;
    if ((proxy.relay = px_relay_create(&proxy)) == NULL) return false;
    if ((proxy.upstream = px_upstream_create(&proxy)) == NULL) return false;
    if ((proxy.clients = px_clients_create(&proxy)) == NULL) return false;
    if ((proxy.watch = px_watch_create(&proxy)) == NULL) return false;
    if ((proxy.health = px_health_create(&proxy)) == NULL) return false;
    if ((listening = open_listener(proxy.config.listen_host, proxy.config.listen_port)) == NULL) return false;
    proxy.listen_port = port_of(&listening->tcp);
    if (proxy.config.admin_port >= 0 && (proxy.admin = px_admin_create(&proxy)) == NULL) return false;
    start_ticks();
    uv_timer_start(&save_timer, on_save, SAVE_MS, SAVE_MS);
    say_address("listening", proxy.config.listen_host, proxy.listen_port);
    if (proxy.admin) say_address("admin", proxy.config.admin_host, px_admin_port(proxy.admin));
    return true;
}

int main(int argc, char **argv)
{
    static uv_loop_t loop;
    int status;

    px_config_default(&proxy.config);
    status = px_config_parse(&proxy.config, argc, argv);
    if (status != EX_GO_ON) return status;
    if (!fit_clients(&proxy.config)) return EX_FAILED;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    proxy.loop = &loop;
    start_handles();
    status = create() ? EX_OK : EX_FAILED;
    if (status != EX_OK) stop();
    uv_run(&loop, UV_RUN_DEFAULT);
    destroy();
    uv_loop_close(&loop);
    return status;
}
