/* Fuzz target: what the agent reads of /proc, and what it writes of it. Whatever the bytes, nothing outside them is
   read; what is taken keeps its promises; and every line is one line that reads back, with the host's name in its tag.
   The first byte says which file it is.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests -Itests/fuzz -Iexamples/common tests/fuzz/fuzz_udp_agent.c LIB -lm -o fuzz_udp_agent

   LIB: examples/common and the headers, compiled. */

#include "../../examples/udp/line.c"
#include "../../examples/udp/proc.c"

#include "../udp_line.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

static const char host[] = "a,b c=d";

/* A line that was made reads back; percents are percents. */
static void check_line(const char *line, size_t size, const char *measurement, int fields)
{
    lp_line l;
    int i;

    DEMAND(size < UA_LINE_MOST && line[size] == '\0' && strlen(line) == size);
    DEMAND(lp_read(line, size, &l));
    DEMAND(strcmp(l.measurement, measurement) == 0 && l.fields == fields);
    DEMAND(strcmp(lp_tag(&l, "host"), host) == 0);
    for (i = 0; i < l.fields; i++) {
        DEMAND(l.value[i] >= 0);
        if (!l.whole[i]) DEMAND(l.value[i] <= 100.0001);
    }
}

static void check_stat(const char *text, size_t size)
{
    static ua_stat before, now;
    const char *cut = memchr(text, '\0', size);
    size_t first = cut ? (size_t)(cut - text) : size / 2;
    char why[UA_WORDS_MOST], line[UA_LINE_MOST];
    bool ok = ua_stat_read(text, first, &before, why);
    int32_t i;

    DEMAND(memchr(why, 0, sizeof why) && ok == (why[0] == '\0'));
    DEMAND(before.count >= 0 && before.count <= UA_CPUS_MOST);
    for (i = 1; i < before.count; i++) DEMAND(before.cpu[i].number > before.cpu[i - 1].number);
    if (!ok || !ua_stat_read(text + first + (cut != NULL), size - first - (cut != NULL), &now, why)) return;
    size = ua_line_cpu(host, &before.all, &now.all, 1, line);
    if (size) check_line(line, size, "cpu", UA_CPU_FIELDS);
}

static void check_memory(const char *text, size_t size)
{
    char why[UA_WORDS_MOST], line[UA_LINE_MOST];
    ua_memory m;

    if (!ua_memory_read(text, size, &m, why)) {
        DEMAND(why[0]);
        return;
    }
    DEMAND(m.value[UA_MEMORY_TOTAL] > 0 && m.value[UA_MEMORY_AVAILABLE] <= m.value[UA_MEMORY_TOTAL]);
    check_line(line, ua_line_memory(host, &m, UA_USED_NOT_AVAILABLE, INT64_MAX, line), "mem", UA_MEMORY_FIELDS + 3);
    check_line(line, ua_line_memory(host, &m, UA_USED_NOT_CACHED, INT64_MIN, line), "mem", UA_MEMORY_FIELDS + 3);
}

static void check_net(const char *text, size_t size)
{
    static ua_net n;
    char why[UA_WORDS_MOST], line[UA_LINE_MOST];
    bool ok = ua_net_read(text, size, &n, why);
    int32_t i;

    DEMAND(ok == (why[0] == '\0') && ok == (n.count > 0));
    DEMAND(n.count <= UA_NICS_MOST && n.left_out >= 0);
    for (i = 0; i < n.count; i++) {
        DEMAND(memchr(n.nic[i].name, 0, UA_NIC_NAME_MOST) && n.nic[i].name[0] && !strchr(n.nic[i].name, '/'));
        check_line(line, ua_line_nic(host, &n.nic[i], 0, line), "net", 8);
    }
}

static void check_escape(const char *text, size_t size)
{
    char name[80], out[40];
    size_t n = size < sizeof name ? size : sizeof name - 1, i;

    memcpy(name, text, n);
    name[n] = '\0';
    n = ua_escape(name, out, sizeof out);
    DEMAND(n < sizeof out && out[n] == '\0' && strlen(out) == n);
    for (i = 0; i < n; i++) {
        DEMAND((unsigned char)out[i] >= 32 && out[i] != 127);
        if (out[i] == '\\') DEMAND(i + 1 < n && strchr(", =", out[i + 1]));
        if (strchr(", =", out[i])) DEMAND(i > 0 && out[i - 1] == '\\');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    if (size == 0) return 0;
    switch (data[0] % 5) {
    case 0: check_stat(text + 1, size - 1); break;
    case 1: check_memory(text + 1, size - 1); break;
    case 2: check_net(text + 1, size - 1); break;
    case 3: check_escape(text + 1, size - 1); break;
    default: ua_flags_up(text + 1, size - 1); break;
    }
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    /* '0' is 48, and 48 % 5 is 3: "0" escapes, "2" is stat, "3" meminfo, "4" net/dev, "1" flags. */
    static const char *const texts[] = {
        "0a,b c=d\\\n", "10x1003\n",
        "2cpu  10 20 30 40 5 6 7 8 9 1\ncpu0 10 20 30 40 5 6 7 8 9 1\nintr 5\n|cpu  20 30 40 90 5 6 7 9 9 2\n"
        "cpu0 1 2 3 4\n",
        "3MemTotal:       1000 kB\nMemFree:         300 kB\nMemAvailable:    600 kB\nBuffers:   40 kB\n"
        "Cached:  200 kB\nSReclaimable:     60 kB\nHugePages_Total:       5\n",
        "4Inter-|   Receive     |  Transmit\n face |bytes packets|bytes\n    lo: 500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n"
        "e,t=h:1240948578 26390 1 2 9 9 9 9 1012326 12899 3 4 9 9 9 9\n",
    };
    size_t n, k;

    if (i < 0 || i >= (int)(sizeof texts / sizeof *texts)) return 0;
    n = strlen(texts[i]);
    if (n > room) n = room;
    memcpy(buffer, texts[i], n);
    for (k = 0; k < n && buffer[0] == '2'; k++) {
        if (buffer[k] == '|') buffer[k] = '\0'; /* between the two samples */
    }
    return n;
}

#define FUZZ_SEEDS seeds
#include "fuzz_main.h"
