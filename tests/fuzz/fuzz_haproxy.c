/* Fuzz target: what the companion of HAProxy reads: log lines, statistics, agent checks. Whatever the bytes, nothing
   outside them is read, and what is taken keeps its promises: names as HAProxy allows them, numbers in their ranges,
   no server twice. The first byte says which of the three it is.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER \
             -Itests/fuzz tests/fuzz/fuzz_haproxy.c -o fuzz_haproxy */

#include "../../examples/haproxy/lines.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

static bool is_time(int32_t ms)
{
    return ms >= -1 && ms <= 999999999;
}

static void check_log(const char *text, size_t size)
{
    hx_log l;

    if (hx_log_read("be", text, size, &l) != HX_LINE_TAKEN) return;
    DEMAND(memchr(l.server, 0, sizeof l.server) && hx_name_ok(l.server));
    DEMAND(is_time(l.tr) && is_time(l.tw) && is_time(l.tc) && is_time(l.tresponse) && is_time(l.ta));
    DEMAND(is_time(l.status) && is_time(l.at_server) && l.queued >= 0 && l.cause > ' ' && l.cause < 127);
}

static void check_report(const char *text, size_t size)
{
    static hx_report r;
    char why[120];
    bool ok = hx_report_read("be", text, size, &r, why);
    int32_t i, j;

    DEMAND(memchr(why, 0, sizeof why) && ok == (why[0] == '\0'));
    DEMAND(r.count >= 0 && r.count <= HX_SERVERS_MOST && r.left_out >= 0);
    DEMAND(!ok || (r.count > 0 && r.pid > 0));
    for (i = 0; i < r.count; i++) {
        const hx_server *s = &r.server[i];
        DEMAND(memchr(s->name, 0, sizeof s->name) && hx_name_ok(s->name));
        DEMAND(s->in_flight >= 0 && s->waiting >= 0);
        DEMAND(s->weight >= 0 && s->weight <= HX_WEIGHT_MOST);
        DEMAND(s->configured >= 0 && s->configured <= HX_WEIGHT_MOST);
        for (j = 0; j < i; j++) DEMAND(strcmp(r.server[j].name, s->name) != 0);
    }
}

static void check_agent(const char *text, size_t size)
{
    char name[HX_NAME_MOST];
    int known = hx_agent_read(text, size, name);

    DEMAND(known >= -1 && known <= 1);
    if (known == 1) DEMAND(memchr(name, 0, sizeof name) && hx_name_ok(name));
    if (known == 0) DEMAND(size < HX_NAME_MOST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    if (size == 0) return 0;
    switch (data[0] % 3) {
    case 0: check_log(text + 1, size - 1); break;
    case 1: check_report(text + 1, size - 1); break;
    default: check_agent(text + 1, size - 1); break;
    }
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char *const texts[] = {
        "0<134>Nov 21 10:00:00 h haproxy[7]: 10.0.0.1:4711 [21/Nov/2026:10:00:00.123] f~ be/s1 1/2/3/4/15 200 31 - - "
        "---- 1/2/3/4/0 5/6 {a|b} \"GET / HTTP/1.1\"",
        "0be/s2 0/0/0/-1/7 503 SC-- 1/1/1/0/+3 0/0",
        "1Name: HAProxy\nPid: 4711\nUptime_sec: 5\n\n# pxname,svname,qcur,scur,stot,wredis,status,bck,type,desc,\n"
        "be,s1,1,2,70,3,UP 1/2,0,2,\"a, b\",\nbe,s2,,,,,MAINT,1,2,,\nbe,BACKEND,0,0,0,0,UP,0,1,,\n\n1\n# be_id be_name "
        "srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_port\n"
        "3 be 1 s1 - 2 0 77 16 8\n"
        "3 be 2 s2 - 0 5 1 1 80\n\n",
        "2s1\n", "2web-1.example:8\r\n",
    };
    size_t n;

    if (i < 0 || i >= (int)(sizeof texts / sizeof *texts)) return 0;
    n = strlen(texts[i]);
    if (n > room) n = room;
    memcpy(buffer, texts[i], n);
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
