/* Fuzz target: what the UDP allocator reads of metrics: tables, capacities, the text of node_exporter, answers of
   InfluxDB 1 and 2, errors, times. Whatever the bytes, nothing outside them is read, and what is taken keeps its
   promises: names that end, no more readings than there is room for, a reason where there are none; and metrics made of
   it are shares from 0 up. The first byte says which parser.

       clang -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. \
             -Itests/fuzz -Iexamples/common tests/fuzz/fuzz_udp_metrics.c LIB -lcurl -lcjson -lm -o fuzz_udp_metrics

   LIB: examples/common and the headers, compiled. */

#include "../../examples/udp/table.c"
#include "../../examples/udp/prometheus.c"
#include "../../examples/udp/influx.c"
#include "../../examples/udp/metrics.c"
#include "../../examples/udp/web.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)                                                      \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { MOST = 40 };

static bool is_share(double x)
{
    return isnan(x) || (x >= 0 && x < 1e30);
}

/* The readings twice, the second time a second later and with more bytes, as clients of the first names. */
static void check_metrics(const ud_reading *r, int32_t count)
{
    ud_metrics *m = NULL;
    ud_shares s;
    ud_config c;
    int32_t i;

    memset(&c, 0, sizeof c);
    c.stale_s = 10;
    DEMAND(ud_metrics_create(&c, &m));
    for (i = 0; i < count; i++) ud_metrics_name(m, i, r[i].host, "10.0.0.1");
    for (i = 0; i < count; i++) ud_metrics_take(m, &r[i], r[i].at_s + 2, 5);
    for (i = 0; i < count; i++) {
        ud_reading again = r[i];
        again.at_s += 1;
        again.bytes_in *= 1.5;
        ud_metrics_take(m, &again, again.at_s, 6);
    }
    for (i = 0; i < count; i++) {
        ud_metrics_shares(m, i, 6, &s);
        DEMAND(is_share(s.cpu) && is_share(s.memory) && is_share(s.network) && s.age_s >= 0);
        DEMAND(isnan(s.cpu) || s.cpu <= 1);
        DEMAND(!s.known || (s.cpu >= 0 && s.memory >= 0 && s.network >= 0 && s.age_s <= 10));
    }
    ud_metrics_destroy(m);
}

static void check_readings(const ud_reading *r, int32_t count, int32_t most, const char *reason)
{
    int32_t i;

    DEMAND(count >= -1 && count <= most);
    DEMAND(memchr(reason, 0, 160) && (count < 0) == (reason[0] != '\0'));
    for (i = 0; i < count; i++) DEMAND(memchr(r[i].host, 0, sizeof r[i].host) && ud_name_ok(r[i].host));
    if (count > 0) check_metrics(r, count);
}

static void check_capacities(const char *text, size_t size)
{
    ud_capacity c[MOST];
    char reason[160];
    int32_t count = ud_parse_capacity(text, size, c, MOST, reason), i;

    DEMAND(count >= -1 && count <= MOST && memchr(reason, 0, sizeof reason) && (count < 0) == (reason[0] != '\0'));
    for (i = 0; i < count; i++) {
        DEMAND(ud_name_ok(c[i].name) && c[i].cores > 0 && c[i].memory_bytes > 0 && c[i].bytes_s > 0);
    }
}

static void check_others(const char *text, size_t size)
{
    char reason[160], *copy = malloc(size + 1);
    ex_text url = { NULL, 0, 0, false };
    size_t i;

    DEMAND(copy);
    ud_influx_error(text, size, reason);
    DEMAND(memchr(reason, 0, sizeof reason));
    memcpy(copy, text, size);
    copy[size] = '\0';
    ud_time_of(copy);
    ud_influx1_url("http://h", copy, size & 1, 60, &url); /* nothing of it but names in the address */
    for (i = 0; i < url.size; i++) DEMAND(url.data[i] > ' ' && url.data[i] < 127 && url.data[i] != '"');
    ex_text_free(&url);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    ud_reading r[MOST];
    char reason[160];

    if (size-- == 0) return 0;
    switch (data[0] % 6) {
    case 0: check_readings(r, ud_parse_table(text, size, r, MOST, reason), MOST, reason); break;
    case 1: check_readings(r, ud_parse_prometheus("a", text, size, 5, r, reason), 1, reason); break;
    case 2: check_readings(r, ud_parse_influx1(text, size, r, MOST, reason), MOST, reason); break;
    case 3: check_readings(r, ud_parse_influx2(text, size, r, MOST, reason), MOST, reason); break;
    case 4: check_capacities(text, size); break;
    default: check_others(text, size); break;
    }
    return 0;
}

static size_t seeds(int i, uint8_t *buffer, size_t room)
{
    static const char *const texts[] = {
        "0# a\ntime_s,host,cpu,memory,bytes_in,bytes_out\n1000,a,12.5,40,1e6,2000000\r\n,\"b \"\"c\",,55,,\n\n",
        "1# HELP x y\nnode_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1000.5\n"
        "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 2 17\n"
        "node_memory_MemAvailable_bytes 2.5e+09\nnode_memory_MemTotal_bytes 1e+10\n"
        "node_network_receive_bytes_total{device=\"lo\"} 5\n"
        "node_network_receive_bytes_total{device=\"e\\\"\\\\\\n\"} 5\n"
        "node_network_transmit_bytes_total{device=\"eth0\"} 7\nnode_time_seconds 1.79e+09\n",
        "2{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"tags\":{\"host\":\"a\"},"
        "\"columns\":[\"time\",\"usage_idle\",\"usage_user\"],\"values\":[[1795309323000000000,87.5,null]]}]},"
        "{\"series\":[{\"name\":\"net\",\"tags\":{\"host\":\"a\",\"interface\":\"eth0\"},"
        "\"columns\":[\"time\",\"bytes_recv\",\"bytes_sent\"],\"values\":[[1795309323000000000,1,2]]}]}]}",
        "2{\"error\":\"authorization failed\"}",
        "3#datatype,string,long,dateTime:RFC3339,double,string,string,string,string\r\n"
        "#group,false,false,false,false,true,true,true,true\r\n#default,_result,,,,,,,\r\n"
        ",result,table,_time,_value,_field,_measurement,host,interface\r\n"
        ",,0,2026-11-22T01:02:03.5Z,87.5,usage_idle,cpu,a,\r\n"
        ",,1,2026-11-22T01:02:03+01:00,1,bytes_recv,net,\"a, b\",e\r\n"
        ",,1,2026-11-22T01:02:03Z,1,bytes_sent,net,\"a, b\",e\r\n\r\n",
        "3#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,failed,897\n",
        "4# name,cores\na, 4, 8e9, 125e6\r\n\"b,c\",1,1,1\n*,1,1,1\n",
        "52026-11-22T01:02:03.25+01:00", "5{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}",
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
