/* Fuzz target: the reader of events in examples/common/flows.h. Whatever the text, it must refuse it with a line and
   words, or give events that the world takes: their descriptor has a size, and a world made with it runs.

       FUZZ_SECONDS=60 make fuzz, or by hand as fuzz_trace.c says, with -Iexamples/common and the objects from there */

#include "flows.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                   \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

/* A world small enough to be made anew for each text. */
static void check_events(const rllb_env_event *events, int32_t count, int32_t servers)
{
    static const rllb_env_server_desc two[2] = { { .cpus = 1 }, { .cpus = 2 } };
    rllb_env_flows_desc d;
    rllb_env_flows *w;
    rllb_env_flows_info info;

    rllb_env_flows_desc_default(&d);
    d.servers = two;
    d.count = servers;
    d.rate = 20;
    d.work_s = 0.05;
    d.flows_max = 64;
    d.events = events;
    d.event_count = count;
    DEMAND(rllb_env_flows_size(&d) > 0);
    w = rllb_env_flows_create(&d);
    DEMAND(w != NULL);
    if (events[count - 1].at_s < 5) { /* not for long: rates may be high */
        while (rllb_env_flows_next_s(w) <= 5) {
            rllb_env_flows_run(w, rllb_env_flows_next_s(w));
            rllb_env_flows_query(w, &info);
            if (info.arrived > 200) break;
        }
        rllb_env_flows_query(w, &info);
        DEMAND(info.arrived == info.completed + info.rejected + info.failed + info.timed_out + info.in_flight);
    }
    rllb_env_flows_destroy(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), why[200];
    rllb_env_event *events;
    int32_t count, servers;
    int64_t line;

    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (servers = 1; servers <= 2; servers++) {
        memset(why, '?', sizeof why);
        if (ex_events_parse(text, servers, &events, &count, &line, why)) {
            DEMAND(count > 0 && events && line == 0);
            check_events(events, count, servers);
        } else {
            DEMAND(count == 0 && !events && line >= 0 && line <= (int64_t)size + 1);
            DEMAND(why[0] != 0 && memchr(why, 0, sizeof why) != NULL && strchr(why, '\n') == NULL);
        }
        free(events);
    }
    free(text);
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char *const texts[] = {
        "time_s,event,server,value\n1,speed,0,0.25\n2.5,back,0,\n3,fail,1,1\n4,leave,1,\n4,join,1\n4.5,rate,,1.5\n",
        "# a remark\r\n\r\ntime_s, event, server, value\r\n 0 , speed , 1 , 0 \r\n",
        "time_s,event,server,value\n0,rate,,0\n1,rate,,1e6\n",
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
