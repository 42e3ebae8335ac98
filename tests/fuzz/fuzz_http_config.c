/* Fuzz target: the settings of the proxy. Whatever the bytes, they are refused in one line that names the file and the
   line, or the settings keep their promises: everything in its range, names and addresses in order.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz -Iexamples/common tests/fuzz/fuzz_http_config.c LIB -lm -o fuzz_http_config

   LIB: examples/common and the headers, compiled. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"

#include "../../examples/http/config.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

static bool ends(const char *text, size_t room)
{
    return memchr(text, 0, room) != NULL;
}

static void check_server(const px_config *c, int32_t i)
{
    const px_server_config *s = &c->server[i];
    char why[WHY];
    int32_t j;

    DEMAND(ends(s->name, sizeof s->name) && s->name[0] && name_ok(s->name, why));
    DEMAND(ends(s->host, sizeof s->host) && is_address(s->host) && s->port >= 1 && s->port <= 65535);
    DEMAND(s->weight >= 0.001f && s->weight <= 1000 && s->connections >= 0);
    for (j = 0; j < i; j++) DEMAND(strcmp(c->server[j].name, s->name) != 0);
}

static void check_all(const px_config *c)
{
    int32_t i;

    DEMAND(c->server_count >= 0 && c->server_count <= PX_SERVERS_MOST);
    for (i = 0; i < c->server_count; i++) check_server(c, i);
    DEMAND(is_address(c->listen_host) && c->listen_port >= 0 && c->listen_port <= 65535);
    DEMAND(is_address(c->admin_host) && c->admin_port >= -1 && c->admin_port <= 65535);
    DEMAND(rllb_balance_of(c->policy) < (int32_t)RLLB_BALANCE_CHOOSE);
    DEMAND(rllb_balance_of(c->policy) >= 0 || strcmp(c->policy, "q_learning") == 0);
    DEMAND(rllb_balance_of(c->fallback) >= 0 && ends(c->model, PX_TEXT_MOST) && ends(c->state, PX_TEXT_MOST));
    DEMAND(c->blend >= 0 && c->blend <= 1 && c->interval_s >= 0.01 && c->interval_s <= 60);
    DEMAND(c->q_alpha > 0 && c->q_alpha <= 1 && c->q_gamma >= 0 && c->q_gamma < 1 && c->q_decay <= 1);
    DEMAND(c->key >= PX_KEY_NONE && c->key <= PX_KEY_COOKIE && ends(c->key_name, sizeof c->key_name));
    DEMAND((c->key >= PX_KEY_HEADER) == (c->key_name[0] != '\0'));
    DEMAND(ends(c->health_path, PX_TEXT_MOST) && (!c->health_path[0] || c->health_path[0] == '/'));
    DEMAND(c->health_interval_s >= 0.01 && c->health_timeout_s > 0 && c->health_rise >= 1 && c->health_fall >= 1);
    DEMAND(c->metrics >= PX_METRICS_NONE && c->metrics <= PX_METRICS_APACHE);
    DEMAND(c->limits.head_bytes >= 256 && c->limits.head_bytes <= PX_HEAD_MOST && c->limits.body_bytes >= 0);
    DEMAND(c->limits.headers >= 1 && c->limits.headers <= PX_HEADERS_MOST && c->limits.target_bytes <= PX_HEAD_MOST);
    DEMAND(c->clients >= 1 && c->idle_connections >= 0 && c->retries >= 0 && c->retries < PX_TRIES_MOST);
    DEMAND(c->hold_bytes >= 0 && c->head_s > 0 && c->idle_s > 0 && c->connect_s > 0 && c->response_s > 0);
    DEMAND(c->drain_s >= 0 && ends(c->access_log, PX_TEXT_MOST));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static px_config c;
    char why[200];

    px_config_default(&c);
    if (px_config_text(&c, "file", (const char *)data, size, why)) {
        DEMAND(why[0] == '\0');
    } else {
        DEMAND(strncmp(why, "file:", 5) == 0 && ends(why, sizeof why) && !strchr(why, '\n'));
        DEMAND(why[5] >= '1' && why[5] <= '9');
    }
    check_all(&c); /* what is refused has not spoilt what was there */
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char *const texts[] = {
        "listen 0.0.0.0:80\nadmin off\nserver s1 127.0.0.1:8001 weight=2.5 connections=100 # fast\r\n"
        "server s-2 [::1]:8002\npolicy learned\nfallback lsq\nmodel a b\nstate x.state\nshadow yes\nblend 0.5\n",
        "key header X-User\nq-learning alpha=0.5 gamma=0 epsilon=1 decay=1 least=0\ninterval 1\nseed 7\n"
        "health /health?x=1 interval=0.5 timeout=0.1 rise=1 fall=1 says=json\nretries 0\nclients 10\n",
        "limits head=4k target=1k headers=10 body=1M\nhold 0\ntimeouts head=1 idle=2 connect=0.5 response=9 drain=0\n"
        "access-log off\nidle-connections 0\nkey none\nhealth off says=apache\npolicy q_learning\n",
    };
    size_t n;

    if (i < 0 || i >= EX_COUNT(texts)) return 0;
    n = strlen(texts[i]);
    if (n > room) n = room;
    memcpy(buffer, texts[i], n);
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
