/* The agent without sockets and clock: what it reads, what it writes, what waits, what an answer means. */

#include "../examples/udp/line.c"
#include "../examples/udp/proc.c"
#include "../examples/udp/queue.c"
#include "../examples/udp/send.c"
#include "../examples/udp/web.c"

#include <fcntl.h>
#include <unistd.h>

#include "test.h"
#include "udp_line.h"

/* A copy of exactly that size, so that a step outside is seen. */
static char *exact(const char *text, size_t size)
{
    char *copy = malloc(size ? size : 1);

    if (!copy) abort();
    if (size) memcpy(copy, text, size);
    return copy;
}

static bool read_stat(const char *text, size_t size, ua_stat *out)
{
    char *copy = exact(text, size), why[UA_WORDS_MOST];
    bool ok = ua_stat_read(copy, size, out, why);

    CHECK(ok == (why[0] == '\0'));
    free(copy);
    return ok;
}

static bool read_memory(const char *text, size_t size, ua_memory *out)
{
    char *copy = exact(text, size), why[UA_WORDS_MOST];
    bool ok = ua_memory_read(copy, size, out, why);

    CHECK(ok == (why[0] == '\0'));
    free(copy);
    return ok;
}

static bool read_net(const char *text, size_t size, ua_net *out)
{
    char *copy = exact(text, size), why[UA_WORDS_MOST];
    bool ok = ua_net_read(copy, size, out, why);

    CHECK(ok == (why[0] == '\0'));
    free(copy);
    return ok;
}

/* ---- /proc/stat ------------------------------------------------------------------------------------------------- */

static const char stat_text[] = "cpu  100 20 30 400 5 6 7 8 9 1\n"
                                "cpu0 60 10 20 200 3 3 4 4 9 1\n"
                                "cpu2 40 10 10 200 2 3 3 4 0 0\n"
                                "intr 1234 5 6 7\nctxt 99\nbtime 1700000000\n";

TEST(stat_as_the_kernel_writes_it)
{
    static const uint64_t all[UA_CPU_FIELDS] = { 100, 20, 30, 400, 5, 6, 7, 8, 9, 1 };
    static ua_stat s;

    CHECK(read_stat(stat_text, strlen(stat_text), &s));
    CHECK_EQ_I(s.all.number, -1);
    CHECK_MEM(s.all.ticks, all, sizeof all);
    CHECK_EQ_I(s.count, 2);
    CHECK_EQ_I(s.cpu[1].number, 2);
    CHECK_EQ_U(s.cpu[1].ticks[UA_IDLE], 200);
    CHECK(read_stat("cpu 1 2 3 4\n", 12, &s)); /* kernels before 2.5 */
    CHECK_EQ_U(s.all.ticks[UA_IDLE], 4);
    CHECK_EQ_U(s.all.ticks[UA_IOWAIT], 0);
    CHECK(read_stat("cpu 1 2 3 4 5 6 7 8 9 10 11 12\n", 31, &s)); /* kernels to come */
    CHECK_EQ_U(s.all.ticks[UA_GUEST_NICE], 10);
}

/* Whatever is cut off: what is taken is what stood there. */
TEST(stat_cut)
{
    static ua_stat whole, s;
    size_t first = (size_t)(strchr(stat_text, '\n') - stat_text), i;

    REQUIRE(read_stat(stat_text, strlen(stat_text), &whole));
    for (i = 0; i < strlen(stat_text); i++) {
        bool ok = read_stat(stat_text, i, &s);
        CHECK(ok == (i > first));
        if (!ok) continue;
        CHECK_MEM(&s.all, &whole.all, sizeof s.all);
        CHECK(s.count <= whole.count);
        CHECK_MEM(s.cpu, whole.cpu, (size_t)s.count * sizeof *s.cpu);
    }
}

TEST(stat_lying)
{
    static const char *const wrong[] = {
        "", "\n", "cpu\n", "cpu \n", "cpu 1 2 3\n", "cpu 1 2 x 4\n", "cpu -1 2 3 4\n", "cpu 1 2 3 4x\n",
        "cpu 1 2 3 18446744073709551616\n", "cpu 1 2 3 18446744073709551615\n", "cpu 1.5 2 3 4\n", "xcpu 1 2 3 4\n",
        "cpuidle 1 2 3 4\n", "cpu0 1 2 3 4\n", "CPU 1 2 3 4\n", "cpu 1 2 3 4 5 6 7 8 9 ten\n", "cpu 1 2 3 0x4\n",
    };
    static const char twice[] = "cpu 1 2 3 4\ncpu 9 9 9 9\ncpu3 1 1 1 1\ncpu3 2 2 2 2\ncpu1 1 1 1 1\n"
                                "cpu99999999999 1 1 1 1\ncpu4x 1 1 1 1\n";
    static ua_stat s;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bool ok = read_stat(wrong[i], strlen(wrong[i]), &s);
        if (ok) NOTE("taken: %s", wrong[i]);
        CHECK(!ok);
    }
    CHECK(read_stat(twice, strlen(twice), &s));
    CHECK_EQ_U(s.all.ticks[UA_IDLE], 4); /* the first counts */
    CHECK_EQ_I(s.count, 1);
    CHECK_EQ_U(s.cpu[0].ticks[UA_IDLE], 1);
}

TEST(stat_huge)
{
    ex_text t = { 0 };
    static ua_stat s;
    int i;

    ex_text_printf(&t, "cpu 1 2 3 4\n");
    for (i = 0; i < 3 * UA_CPUS_MOST; i++) ex_text_printf(&t, "cpu%d 1 2 3 4 5 6 7 8 9 10\n", i);
    ex_text_printf(&t, "intr");
    for (i = 0; i < 50000; i++) ex_text_printf(&t, " %d", i);
    ex_text_printf(&t, "\n");
    REQUIRE(!t.failed);
    CHECK(read_stat(t.data, t.size, &s));
    CHECK_EQ_I(s.count, UA_CPUS_MOST);
    CHECK_EQ_I(s.cpu[UA_CPUS_MOST - 1].number, UA_CPUS_MOST - 1);
    ex_text_free(&t);
}

/* ---- /proc/meminfo ---------------------------------------------------------------------------------------------- */

static const char meminfo_text[] = "MemTotal:       1000 kB\nMemFree:         300 kB\nMemAvailable:    600 kB\n"
                                   "Buffers:          40 kB\nCached:          200 kB\nSwapCached:        1 kB\n"
                                   "SReclaimable:     60 kB\nActive(anon):     77 kB\nActive:           11 kB\n"
                                   "HugePages_Total:       5\nHugepagesize:       2048 kB\n";

TEST(meminfo_as_the_kernel_writes_it)
{
    ua_memory m;

    CHECK(read_memory(meminfo_text, strlen(meminfo_text), &m));
    CHECK_EQ_U(m.value[UA_MEMORY_TOTAL], 1000 * 1024);
    CHECK_EQ_U(m.value[UA_MEMORY_AVAILABLE], 600 * 1024);
    CHECK_EQ_U(m.value[UA_MEMORY_CACHED], 260 * 1024); /* with what slab gives back */
    CHECK_EQ_U(m.value[UA_MEMORY_ACTIVE], 11 * 1024);
    CHECK_EQ_U(m.value[UA_MEMORY_HUGE_TOTAL], 5); /* pages, no bytes */
    CHECK_EQ_U(m.value[UA_MEMORY_HUGE_SIZE], 2048 * 1024);
    CHECK_EQ_U(m.value[UA_MEMORY_HIGH_TOTAL], 0);
}

TEST(meminfo_lying)
{
    static const char *const wrong[] = {
        "", "MemTotal: 1000 kB\n", "MemFree: 1 kB\n", "MemTotal: 0 kB\nMemFree: 0 kB\n",
        "MemTotal: 1000 MB\nMemFree: 1 kB\n", "MemTotal: -5 kB\nMemFree: 1 kB\n", "MemTotal 1000 kB\nMemFree: 1 kB\n",
        "MemTotal: 1000 kB x\nMemFree: 1 kB\n", "MemTotal: 99999999999999999999 kB\nMemFree: 1 kB\n",
        "MemTotal:1000kB\nMemFree:1kB\n", "MemTotal: 1000 kB\nMemFree: 1 kB",
    };
    static const char old[] = "MemTotal: 1000 kB\nMemFree: 300 kB\nBuffers: 40 kB\nCached: 200 kB\n";
    static const char too_much[] = "MemTotal: 10 kB\nMemAvailable: 99 kB\nMemFree: 18446744073709551615 kB\n"
                                   "MemTotal: 77 kB\nCached: 18446744073709551615 kB\nSReclaimable: 5 kB\n";
    ua_memory m;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bool ok = read_memory(wrong[i], strlen(wrong[i]), &m);
        if (ok) NOTE("taken: %s", wrong[i]);
        CHECK(!ok);
    }
    CHECK(read_memory(old, strlen(old), &m)); /* kernels before 3.14 say nothing of what is available */
    CHECK_EQ_U(m.value[UA_MEMORY_AVAILABLE], 540 * 1024);
    CHECK(read_memory(too_much, strlen(too_much), &m));
    CHECK_EQ_U(m.value[UA_MEMORY_TOTAL], 10 * 1024);
    CHECK_EQ_U(m.value[UA_MEMORY_AVAILABLE], 10 * 1024);
    CHECK_EQ_U(m.value[UA_MEMORY_FREE], UINT64_MAX);
    CHECK_EQ_U(m.value[UA_MEMORY_CACHED], UINT64_MAX);
}

/* ---- /proc/net/dev ---------------------------------------------------------------------------------------------- */

#define NET_HEAD                                                                                         \
    "Inter-|   Receive                                                |  Transmit\n"                     \
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo " \
    "colls carrier compressed\n"
static const char net_text[] = NET_HEAD "    lo: 500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n"
                                        "  eth0:1240948578   26390    1    2    9    9     9          9 "
                                        "1012326   12899    3    4    9    9       9          9\n";

TEST(net_as_the_kernel_writes_it)
{
    static ua_net n;

    CHECK(read_net(net_text, strlen(net_text), &n));
    CHECK_EQ_I(n.count, 2);
    CHECK_EQ_I(n.left_out, 0);
    CHECK_STR(n.nic[1].name, "eth0");
    CHECK_EQ_U(n.nic[1].bytes_recv, 1240948578);
    CHECK_EQ_U(n.nic[1].packets_recv, 26390);
    CHECK_EQ_U(n.nic[1].err_in, 1);
    CHECK_EQ_U(n.nic[1].drop_in, 2);
    CHECK_EQ_U(n.nic[1].bytes_sent, 1012326);
    CHECK_EQ_U(n.nic[1].packets_sent, 12899);
    CHECK_EQ_U(n.nic[1].err_out, 3);
    CHECK_EQ_U(n.nic[1].drop_out, 4);
}

#define ZEROES " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

TEST(net_lying)
{
    static const char *const wrong[] = {
        "", NET_HEAD, NET_HEAD "eth0: 1 2 3\n", NET_HEAD "eth0: a 0 0 0 0 0 0 0 0 0 0 0\n", NET_HEAD ":" ZEROES,
        NET_HEAD "   :" ZEROES, NET_HEAD "abcdefghijklmnop:" ZEROES, NET_HEAD "a b:" ZEROES, NET_HEAD "a/b:" ZEROES,
        NET_HEAD "eth0:1:" ZEROES, NET_HEAD "eth0:1 2 3 4 5 6 7 8 9 10 11 12", NET_HEAD "e\fh:" ZEROES,
        NET_HEAD "eth0: 99999999999999999999 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        NET_HEAD "eth0: 1 0 0 0 -1 0 0 0 0 0 0 0 0 0 0 0\n",
    };
    static const char mixed[] = NET_HEAD "a,b=c:" ZEROES "bad: 1 2\na,b=c: 9 9 9 9 9 9 9 9 9 9 9 9\n"
                                "abcdefghijklmno:" ZEROES;
    static ua_net n;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bool ok = read_net(wrong[i], strlen(wrong[i]), &n);
        if (ok) NOTE("taken: %s", wrong[i]);
        CHECK(!ok);
    }
    CHECK(read_net(mixed, strlen(mixed), &n));
    CHECK_EQ_I(n.count, 2);
    CHECK_EQ_I(n.left_out, 2);
    CHECK_STR(n.nic[0].name, "a,b=c");
    CHECK_EQ_U(n.nic[0].bytes_recv, 0);
    CHECK_STR(n.nic[1].name, "abcdefghijklmno");
    CHECK(!read_net("a\0b:" ZEROES, 3 + strlen(ZEROES) + 1, &n)); /* a name that would end early */
}

TEST(net_huge_and_cut)
{
    static ua_net whole, n;
    ex_text t = { 0 };
    size_t i;

    for (i = 0; i < 1000; i++) {
        ex_text_printf(&t, "veth%d: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n", (int)i, (int)i, (int)i);
    }
    REQUIRE(!t.failed);
    CHECK(read_net(t.data, t.size, &whole));
    CHECK_EQ_I(whole.count, UA_NICS_MOST);
    CHECK_EQ_I(whole.left_out, 1000 - UA_NICS_MOST);
    for (i = 0; i < 300; i++) {
        if (!read_net(t.data, i, &n)) continue;
        CHECK_MEM(n.nic, whole.nic, (size_t)n.count * sizeof *n.nic);
    }
    ex_text_free(&t);
}

TEST(flags)
{
    CHECK(ua_flags_up("0x1003\n", 7));
    CHECK(ua_flags_up("0x1", 3));
    CHECK(!ua_flags_up("0x1002\n", 7)); /* down */
    CHECK(!ua_flags_up("0x9\n", 4));    /* the loopback */
    CHECK(!ua_flags_up("1003\n", 5));
    CHECK(!ua_flags_up("0x", 2));
    CHECK(!ua_flags_up("", 0));
    CHECK(!ua_flags_up("0x1g\n", 5));
    CHECK(!ua_flags_up("0x1\0\n", 5));
    CHECK(!ua_flags_up("0x1000000001\n", 13));
}

/* The host that runs this test. */
static size_t read_file(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY);
    size_t n = 0;
    ssize_t got = fd < 0 ? 0 : 1;

    while (got > 0 && n < room) {
        got = read(fd, out + n, room - n);
        if (got > 0) n += (size_t)got;
    }
    if (fd >= 0) close(fd);
    return n;
}

TEST(this_host)
{
    static char text[1 << 18];
    static ua_stat s;
    static ua_net n;
    ua_memory m;
    size_t size = read_file("/proc/stat", text, sizeof text);

    if (size == 0) SKIP("no /proc as Linux has it");
    CHECK(read_stat(text, size, &s));
    CHECK_EQ_I(s.count > 0, true);
    CHECK(s.all.ticks[UA_USER] >= s.cpu[0].ticks[UA_USER] || s.all.ticks[UA_IDLE] >= s.cpu[0].ticks[UA_IDLE]);
    size = read_file("/proc/meminfo", text, sizeof text);
    CHECK(read_memory(text, size, &m));
    CHECK(m.value[UA_MEMORY_TOTAL] > (1 << 20));
    CHECK(m.value[UA_MEMORY_FREE] < m.value[UA_MEMORY_TOTAL]);
    size = read_file("/proc/net/dev", text, sizeof text);
    CHECK(read_net(text, size, &n));
    CHECK_EQ_I(n.left_out, 0);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static const int64_t at_ns = 1700000000123456789;

TEST(cpu_lines)
{
    ua_cpu before = { -1, { 1000, 100, 500, 9000, 50, 10, 20, 30, 400, 40 } }, now = before;
    char line[UA_LINE_MOST];
    size_t n;

    CHECK_EQ_I(ua_line_cpu("a", &before, &before, at_ns, line), 0); /* no time passed */
    now.ticks[UA_USER] += 20;  /* 5 of them for a guest */
    now.ticks[UA_GUEST] += 5;
    now.ticks[UA_NICE] += 8;   /* 2 for a guest */
    now.ticks[UA_GUEST_NICE] += 2;
    now.ticks[UA_SYSTEM] += 10;
    now.ticks[UA_IDLE] += 150;
    now.ticks[UA_IOWAIT] += 6;
    now.ticks[UA_IRQ] += 1;
    now.ticks[UA_SOFTIRQ] += 2;
    now.ticks[UA_STEAL] += 3;
    n = ua_line_cpu("a", &before, &now, at_ns, line);
    CHECK_STR(line, "cpu,cpu=cpu-total,host=a usage_user=7.5,usage_nice=3,usage_system=5,usage_idle=75,usage_iowait=3,"
                    "usage_irq=0.5,usage_softirq=1,usage_steal=1.5,usage_guest=2.5,usage_guest_nice=1 "
                    "1700000000123456789");
    CHECK_EQ_I(n, strlen(line));
    before.number = now.number = 12;
    CHECK(ua_line_cpu("a", &before, &now, at_ns, line) > 0);
    CHECK(strncmp(line, "cpu,cpu=cpu12,host=a ", 21) == 0);
    now.number = 13;
    CHECK_EQ_I(ua_line_cpu("a", &before, &now, at_ns, line), 0);
}

/* One that ran backwards counts as if it stood; when time did, there is nothing to say. */
TEST(cpu_counters_run_backwards)
{
    ua_cpu before = { -1, { 1000, 100, 500, 9000, 50, 10, 20, 30, 0, 0 } }, now = before;
    char line[UA_LINE_MOST];
    lp_line l;
    double sum_of = 0;
    int i;

    now.ticks[UA_IOWAIT] -= 30;
    now.ticks[UA_IDLE] += 90;
    now.ticks[UA_USER] += 10;
    REQUIRE(lp_read(line, ua_line_cpu("a", &before, &now, at_ns, line), &l));
    CHECK_NEAR(l.value[lp_find(&l, "usage_iowait")], 0, 0);
    CHECK_NEAR(l.value[lp_find(&l, "usage_idle")], 90, 1e-9);
    CHECK_NEAR(l.value[lp_find(&l, "usage_user")], 10, 1e-9);
    for (i = 0; i < l.fields; i++) sum_of += l.value[i];
    CHECK_NEAR(sum_of, 100, 1e-6);
    CHECK_EQ_I(ua_line_cpu("a", &now, &before, at_ns, line), 0);
    memset(now.ticks, 0, sizeof now.ticks); /* a host that began anew */
    now.ticks[UA_USER] = 2000;
    CHECK_EQ_I(ua_line_cpu("a", &before, &now, at_ns, line), 0);
    now = before;
    now.ticks[UA_GUEST] += 50; /* more than its user time: not below zero */
    now.ticks[UA_USER] += 10;
    REQUIRE(lp_read(line, ua_line_cpu("a", &before, &now, at_ns, line), &l));
    CHECK_NEAR(l.value[lp_find(&l, "usage_user")], 0, 0);
    CHECK_NEAR(l.value[lp_find(&l, "usage_guest")], 100, 0);
}

TEST(memory_lines)
{
    /* Names as Telegraf's input mem has them on Linux. */
    static const char *const names[] = {
        "active", "available", "available_percent", "buffered", "cached", "commit_limit", "committed_as", "dirty",
        "free", "high_free", "high_total", "huge_page_size", "huge_pages_free", "huge_pages_total", "inactive",
        "low_free", "low_total", "mapped", "page_tables", "shared", "slab", "sreclaimable", "sunreclaim",
        "swap_cached", "swap_free", "swap_total", "total", "used", "used_percent", "vmalloc_chunk", "vmalloc_total",
        "vmalloc_used", "write_back", "write_back_tmp",
    };
    char line[UA_LINE_MOST];
    ua_memory m;
    lp_line l;
    size_t i;
    int at;

    REQUIRE(read_memory(meminfo_text, strlen(meminfo_text), &m));
    REQUIRE(lp_read(line, ua_line_memory("h", &m, UA_USED_NOT_AVAILABLE, at_ns, line), &l));
    CHECK_STR(l.measurement, "mem");
    CHECK_EQ_I(l.tags, 1);
    CHECK_EQ_I(l.fields, sizeof names / sizeof *names);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        at = lp_find(&l, names[i]);
        if (at < 0) NOTE("no field %s", names[i]);
        CHECK(at >= 0);
        if (at >= 0) CHECK(l.whole[at] == !strstr(names[i], "percent"));
    }
    CHECK_NEAR(l.value[lp_find(&l, "used")], 400 * 1024, 0);
    CHECK_NEAR(l.value[lp_find(&l, "used_percent")], 40, 1e-9);
    CHECK_NEAR(l.value[lp_find(&l, "available_percent")], 60, 1e-9);
    CHECK(l.at_ns == at_ns);
    REQUIRE(lp_read(line, ua_line_memory("h", &m, UA_USED_NOT_CACHED, at_ns, line), &l));
    CHECK_NEAR(l.value[lp_find(&l, "used")], 400 * 1024, 0); /* 1000 - 300 - 40 - 260 */
    m.value[UA_MEMORY_CACHED] = UINT64_MAX;
    REQUIRE(lp_read(line, ua_line_memory("h", &m, UA_USED_NOT_CACHED, at_ns, line), &l));
    CHECK_NEAR(l.value[lp_find(&l, "used")], 0, 0); /* lies end at zero */
    memset(&m, 0, sizeof m);
    CHECK_EQ_I(ua_line_memory("h", &m, UA_USED_NOT_CACHED, at_ns, line), 0);
}

TEST(net_lines)
{
    ua_nic n = { "eth0", 1, 2, 3, 4, 5, 6, 7, UINT64_MAX };
    char line[UA_LINE_MOST];

    CHECK(ua_line_nic("a", &n, -1, line) > 0);
    CHECK_STR(line, "net,host=a,interface=eth0 bytes_sent=5i,bytes_recv=1i,packets_sent=6i,packets_recv=2i,err_in=3i,"
                    "err_out=7i,drop_in=4i,drop_out=9223372036854775807i -1");
}

/* Whatever a host or an interface is called: one line, and the name in its tag. */
TEST(names_stay_in_their_tags)
{
    static const struct {
        const char *name, *seen;
    } names[] = {
        { "a,b", "a,b" }, { "a b", "a b" }, { "a=b", "a=b" }, { "a\nb", "a?b" }, { "a\\", "a?" }, { "\\,\\ ", "?,? " },
        { "a,host=b x=1 5\nmem,", "a,host=b x=1 5?mem," }, { "\"q'", "\"q'" }, { "#", "#" }, { "\x7f\t\r", "???" },
        { "\xc3\xa4", "\xc3\xa4" },
    };
    ua_nic n = { "e,t=h 0", 1, 2, 3, 4, 5, 6, 7, 8 };
    char line[UA_LINE_MOST];
    lp_line l;
    size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++) {
        bool ok = lp_read(line, ua_line_nic(names[i].name, &n, at_ns, line), &l);
        if (!ok) NOTE("%s", line);
        CHECK(ok);
        CHECK_STR(l.measurement, "net");
        CHECK_EQ_I(l.tags, 2);
        CHECK_STR(lp_tag(&l, "host"), names[i].seen);
        CHECK_STR(lp_tag(&l, "interface"), "e,t=h 0");
        CHECK_EQ_I(l.fields, 8);
    }
}

TEST(the_longest_line_fits)
{
    char host[UA_HOST_MOST], line[UA_LINE_MOST];
    ua_nic n;
    ua_memory m;
    ua_cpu before, now;
    lp_line l;
    size_t size;

    memset(host, ',', sizeof host);
    host[sizeof host - 1] = '\0';
    memset(&n, 0xff, sizeof n);
    memset(n.name, '=', sizeof n.name);
    n.name[sizeof n.name - 1] = '\0';
    memset(&m, 0xff, sizeof m);
    memset(&before, 0, sizeof before);
    memset(now.ticks, 0x01, sizeof now.ticks);
    before.number = now.number = INT32_MAX;
    size = ua_line_memory(host, &m, UA_USED_NOT_AVAILABLE, INT64_MIN, line);
    NOTE("%d bytes of mem", (int)size);
    CHECK(size > 1000 && size < UA_LINE_MOST);
    CHECK(lp_read(line, size, &l));
    CHECK_STR(lp_tag(&l, "host"), host);
    size = ua_line_nic(host, &n, INT64_MIN, line);
    CHECK(lp_read(line, size, &l));
    CHECK_STR(lp_tag(&l, "interface"), n.name);
    size = ua_line_cpu(host, &before, &now, INT64_MIN, line);
    CHECK(lp_read(line, size, &l));
}

/* ---- the buffer ------------------------------------------------------------------------------------------------- */

static void add_number(ua_queue *q, int32_t k)
{
    char line[24];

    ua_queue_add(q, line, (size_t)snprintf(line, sizeof line, "line %d", (int)k));
}

/* The numbers of lines: from, from + 1, ... */
static bool is_run(const ex_text *t, int32_t from, int32_t count)
{
    ex_text wanted = { 0 };
    bool ok;
    int32_t i;

    for (i = 0; i < count; i++) ex_text_printf(&wanted, "line %d\n", (int)(from + i));
    ok = t->size == wanted.size && (t->size == 0 || memcmp(t->data, wanted.data, t->size) == 0);
    ex_text_free(&wanted);
    return ok;
}

TEST(the_oldest_line_makes_room)
{
    ua_queue q;
    ex_text t = { 0 };
    int32_t k;

    REQUIRE(ua_queue_create(&q, 5));
    for (k = 0; k < 12; k++) add_number(&q, k);
    CHECK_EQ_U(q.added, 12);
    CHECK_EQ_U(q.dropped, 7);
    CHECK_EQ_I(q.count, 5);
    CHECK_EQ_I(ua_queue_take(&q, 100, 1000, &t), 5);
    CHECK(is_run(&t, 7, 5));
    ua_queue_settle(&q, UA_WRITTEN);
    CHECK_EQ_I(q.count, 0);
    CHECK_EQ_U(q.written, 5);
    CHECK_EQ_I(ua_queue_take(&q, 100, 1000, &t), 0);
    ex_text_free(&t);
    ua_queue_destroy(&q);
}

TEST(batches_are_whole_lines)
{
    ua_queue q;
    ex_text t = { 0 };
    int32_t k;

    REQUIRE(ua_queue_create(&q, 50));
    for (k = 0; k < 10; k++) add_number(&q, k); /* seven bytes each, with their ends */
    CHECK_EQ_I(ua_queue_take(&q, 100, 20, &t), 2);
    CHECK(is_run(&t, 0, 2));
    ua_queue_settle(&q, UA_FAILED);
    ex_text_free(&t);
    CHECK_EQ_I(ua_queue_take(&q, 100, 21, &t), 3);
    ua_queue_settle(&q, UA_WRITTEN);
    ex_text_free(&t);
    CHECK_EQ_I(ua_queue_take(&q, 4, 1000, &t), 4);
    CHECK(is_run(&t, 3, 4));
    ua_queue_settle(&q, UA_REFUSED);
    ex_text_free(&t);
    CHECK_EQ_I(ua_queue_take(&q, 100, 1, &t), 1); /* one at least */
    ua_queue_settle(&q, UA_WRITTEN);
    ex_text_free(&t);
    CHECK_EQ_I(q.count, 2);
    CHECK(q.written == 4 && q.refused == 4 && q.dropped == 0);
    ua_queue_destroy(&q);
}

/* What makes room while it is under way is lost only if it was not written. */
TEST(room_is_made_while_lines_are_under_way)
{
    ua_outcome outcome;
    ua_queue q;
    ex_text t = { 0 };
    int32_t k;

    for (outcome = UA_WRITTEN; outcome <= UA_FAILED; outcome = (ua_outcome)(outcome + 1)) {
        REQUIRE(ua_queue_create(&q, 6));
        for (k = 0; k < 6; k++) add_number(&q, k);
        CHECK_EQ_I(ua_queue_take(&q, 4, 1000, &t), 4);
        for (k = 6; k < 9; k++) add_number(&q, k); /* 0, 1 and 2 make room */
        CHECK(q.doubtful == 3 && q.dropped == 0 && q.count == 6);
        if (outcome == UA_WRITTEN) {
            for (k = 9; k < 12; k++) add_number(&q, k); /* 3, and two that are not under way */
            CHECK(q.doubtful == 4 && q.dropped == 2);
        }
        ua_queue_settle(&q, outcome);
        CHECK_EQ_I(q.under_way, 0);
        CHECK_EQ_U(q.written, outcome == UA_WRITTEN ? 4 : 0);
        CHECK_EQ_U(q.refused, outcome == UA_REFUSED ? 4 : 0);
        CHECK_EQ_U(q.dropped, outcome == UA_WRITTEN ? 2 : outcome == UA_FAILED ? 3 : 0);
        ex_text_free(&t);
        k = ua_queue_take(&q, 100, 1000, &t);
        CHECK_EQ_I(k, outcome == UA_REFUSED ? 5 : 6);
        CHECK(is_run(&t, outcome == UA_WRITTEN ? 6 : outcome == UA_REFUSED ? 4 : 3, k));
        CHECK_EQ_U(q.added, q.written + q.refused + q.dropped + (uint64_t)q.count);
        ex_text_free(&t);
        ua_queue_destroy(&q);
    }
}

/* Against a plain list of numbers: any order of calls. */
TEST(the_buffer_against_a_model)
{
    enum { ROOM = 7, STEPS = 20000 };
    uint64_t written = 0, refused = 0;
    int32_t next = 0, oldest = 0, taken_from = 0, taken = 0, n;
    ua_queue q;
    ex_text t = { 0 };
    rllb_rng rng;
    int step;

    rllb_rng_init(&rng, 7, 0);
    REQUIRE(ua_queue_create(&q, ROOM));
    for (step = 0; step < STEPS; step++) {
        int32_t what = rllb_rng_below(&rng, 6);
        if (what < 3) {
            add_number(&q, next++);
            if (next - oldest > ROOM) oldest++;
        } else if (what == 3 && taken == 0) {
            n = 1 + rllb_rng_below(&rng, 5);
            taken_from = oldest;
            taken = ua_queue_take(&q, n, 1000, &t);
            if (taken != (next - oldest < n ? next - oldest : n)) break;
            if (!is_run(&t, oldest, taken)) break;
            ex_text_free(&t);
        } else if (what > 3 && taken > 0) {
            ua_outcome outcome = (ua_outcome)rllb_rng_below(&rng, 3);
            ua_queue_settle(&q, outcome);
            if (outcome != UA_FAILED && taken_from + taken > oldest) oldest = taken_from + taken;
            if (outcome == UA_WRITTEN) written += (uint64_t)taken;
            if (outcome == UA_REFUSED) refused += (uint64_t)taken;
            taken = 0;
        }
        if (q.count != next - oldest || q.written != written || q.refused != refused) break;
        if (q.added != q.written + q.refused + q.dropped + (uint64_t)(q.count + q.doubtful)) break;
    }
    CHECK_EQ_I(step, STEPS);
    NOTE("%d lines, %lu written, %lu dropped", (int)next, (unsigned long)written, (unsigned long)q.dropped);
    CHECK(written > 1000 && q.dropped > 100);
    ex_text_free(&t);
    ua_queue_destroy(&q);
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* What is said on stderr between the two calls, and how many lines of it. */
static struct {
    int before;
    FILE *to;
    char text[4000];
} heard;

static void listen_in(void)
{
    fflush(stderr);
    heard.before = dup(2);
    heard.to = tmpfile();
    if (!heard.to || heard.before < 0) abort();
    dup2(fileno(heard.to), 2);
}

static int32_t lines_heard(void)
{
    int32_t lines = 0;
    size_t n, i;

    fflush(stderr);
    dup2(heard.before, 2);
    close(heard.before);
    rewind(heard.to);
    n = fread(heard.text, 1, sizeof heard.text - 1, heard.to);
    fclose(heard.to);
    heard.text[n] = '\0';
    for (i = 0; i < n; i++) lines += heard.text[i] == '\n';
    return lines;
}

typedef struct database {
    ua_queue queue;
    ua_target target;
    ua_sender sender;
    ex_text kept; /* what it took */
} database;

static bool database_create(database *d, int32_t room)
{
    memset(d, 0, sizeof *d);
    snprintf(d->target.name, sizeof d->target.name, "db");
    ua_sender_init(&d->sender, &d->queue, &d->target, "s3cret", "host", 1);
    return ua_queue_create(&d->queue, room);
}

static void database_destroy(database *d)
{
    ex_text_free(&d->kept);
    ua_queue_destroy(&d->queue);
}

static void reply(database *d, int32_t status, const char *words, const char *after, double now_s)
{
    char *copy = exact(words, strlen(words));

    ua_sender_answer(&d->sender, status, copy, strlen(words), after, now_s);
    free(copy);
}

/* One try, if it is time. */
static bool try_once(database *d, int32_t status, int32_t lines, double now_s)
{
    ex_text t = { 0 };

    if (!ua_sender_ready(&d->sender, now_s)) return false;
    ua_queue_take(&d->queue, lines, 1 << 20, &t);
    if (status / 100 == 2) ex_text_add(&d->kept, t.data, t.size);
    reply(d, status, status ? "{\"error\":\"no\"}" : "Couldn't connect", "", now_s);
    ex_text_free(&t);
    return true;
}

/* Ten minutes away, three lines a second, then back: all of them arrive, in order, and nothing twice. */
TEST(the_database_is_away_and_comes_back)
{
    static database d;
    int32_t k = 0, tries = 0, s;
    double now_s, last_s = 0, longest_s = 0;

    REQUIRE(database_create(&d, 2000));
    listen_in();
    for (s = 0; s < 700; s++) {
        int32_t i;
        for (i = 0; i < 3; i++) add_number(&d.queue, k++);
        for (i = 0; i < 10; i++) {
            int32_t status = s < 5 || s >= 605 ? 204 : s < 300 ? 0 : 503;
            now_s = s + 0.1 * i;
            if (!try_once(&d, status, 100, now_s) || status == 204) continue;
            if (tries++ > 0) CHECK(now_s - last_s > 0.99);
            longest_s = fmax(longest_s, tries > 1 ? now_s - last_s : 0);
            last_s = now_s;
        }
    }
    CHECK_EQ_I(lines_heard(), 2); /* it began, it is over */
    CHECK(strstr(heard.text, "Couldn't connect") != NULL);
    NOTE("%d tries in ten minutes, at most %.1f s apart", (int)tries, longest_s);
    CHECK(tries >= 20 && tries <= 50);
    CHECK(longest_s <= 30.2);
    CHECK_EQ_I(d.queue.count, 0);
    CHECK_EQ_U(d.queue.dropped, 0);
    CHECK_EQ_U(d.queue.written, 2100);
    CHECK(is_run(&d.kept, 0, 2100));
    CHECK_EQ_I(d.sender.state, UA_WELL);
    database_destroy(&d);
}

/* Away for longer than the buffer lasts: the newest are kept, in order, the others counted. */
TEST(the_database_is_away_for_too_long)
{
    static database d;
    int32_t k;

    REQUIRE(database_create(&d, 100));
    listen_in();
    for (k = 0; k < 350; k++) {
        add_number(&d.queue, k);
        try_once(&d, 0, 30, k);
    }
    for (k = 0; k < 10; k++) try_once(&d, 200, 30, 1000 + k);
    lines_heard();
    CHECK_EQ_U(d.queue.dropped, 250);
    CHECK(is_run(&d.kept, 250, 100));
    database_destroy(&d);
}

/* What the database does not want is not offered again, and the reason is said once. */
TEST(refusals_are_final)
{
    static const int32_t final[] = { 400, 401, 403, 404, 413, 422, 301, 308 };
    static database d;
    size_t i;

    for (i = 0; i < sizeof final / sizeof *final; i++) {
        int32_t k;
        REQUIRE(database_create(&d, 100));
        listen_in();
        for (k = 0; k < 50; k++) {
            add_number(&d.queue, k);
            CHECK(try_once(&d, final[i], 10, k)); /* no pause: what comes next is tried as it comes */
        }
        CHECK_EQ_I(lines_heard(), 1);
        CHECK(strstr(heard.text, "{\"error\":\"no\"}; batch of 1 dropped") != NULL);
        CHECK(d.queue.refused == 50 && d.queue.count == 0 && d.sender.refusals == 50 && d.queue.dropped == 0);
        listen_in();
        add_number(&d.queue, 50);
        ua_queue_take(&d.queue, 1, 1000, &d.kept);
        reply(&d, final[i], "other words\nand more", "", 60);
        add_number(&d.queue, 51);
        CHECK(try_once(&d, 204, 10, 61));
        CHECK_EQ_I(lines_heard(), 2); /* for another reason; and that it is over */
        CHECK(strstr(heard.text, "other words; batch of 1 dropped") != NULL && !strstr(heard.text, "and more"));
        database_destroy(&d);
    }
}

TEST(failures_are_tried_again)
{
    static const int32_t passing[] = { 0, 100, 408, 429, 500, 502, 503, 504 };
    static database d;
    size_t i;

    for (i = 0; i < sizeof passing / sizeof *passing; i++) {
        REQUIRE(database_create(&d, 100));
        add_number(&d.queue, 0);
        listen_in();
        CHECK(try_once(&d, passing[i], 10, 10));
        CHECK(!try_once(&d, 204, 10, 10.99));
        CHECK(try_once(&d, 204, 10, 11));
        lines_heard();
        CHECK(is_run(&d.kept, 0, 1));
        database_destroy(&d);
    }
}

TEST(the_server_may_say_when)
{
    static database d;

    REQUIRE(database_create(&d, 100));
    add_number(&d.queue, 0);
    listen_in();
    ua_queue_take(&d.queue, 1, 1000, &d.kept);
    reply(&d, 429, "slow down", "17", 100);
    CHECK(!ua_sender_ready(&d.sender, 116.9));
    CHECK(ua_sender_ready(&d.sender, 117));
    ua_queue_take(&d.queue, 1, 1000, &d.kept);
    reply(&d, 503, "", "999999999", 200); /* but not for ever */
    CHECK(!ua_sender_ready(&d.sender, 499));
    CHECK(ua_sender_ready(&d.sender, 500));
    ua_queue_take(&d.queue, 1, 1000, &d.kept);
    reply(&d, 503, "", "Fri, 31 Dec 1999 23:59:59 GMT", 600);
    CHECK(ua_sender_ready(&d.sender, 604));
    lines_heard();
    database_destroy(&d);
}

/* Two agents whose database went away at the same moment do not return at the same moments. */
TEST(pauses_differ_between_hosts)
{
    ua_sender one, other;
    ua_queue q;
    ua_target t;
    int32_t alike = 0, k;

    REQUIRE(ua_queue_create(&q, 1));
    memset(&t, 0, sizeof t);
    ua_sender_init(&one, &q, &t, NULL, "client1", 1);
    ua_sender_init(&other, &q, &t, NULL, "client2", 1);
    listen_in();
    for (k = 0; k < 20; k++) {
        ua_sender_answer(&one, 0, "", 0, "", 0);
        ua_sender_answer(&other, 0, "", 0, "", 0);
        CHECK(one.next_s >= 1 && one.next_s <= 30);
        alike += fabs(one.next_s - other.next_s) < 1e-6;
    }
    lines_heard();
    CHECK(alike <= 1); /* the first second */
    ua_queue_destroy(&q);
}

TEST(secrets_are_not_repeated)
{
    static const char token[] = "averylongtoken0123456789";
    static database d;
    char words[400];
    size_t pad;

    for (pad = 0; pad < 260; pad++) {
        REQUIRE(database_create(&d, 100));
        listen_in();
        REQUIRE(ua_target_read("influx2:http://h:1", "o", "b", token, &d.target) == EX_GO_ON);
        ua_sender_init(&d.sender, &d.queue, &d.target, token, "host", 1);
        add_number(&d.queue, 0);
        ua_queue_take(&d.queue, 1, 1000, &d.kept);
        memset(words, '.', pad);
        snprintf(words + pad, sizeof words - pad, "Token %s is wrong, %s", token, token);
        reply(&d, 401, words, "", 0);
        CHECK_EQ_I(lines_heard(), 1);
        CHECK(strstr(heard.text, "averylong") == NULL);
        database_destroy(&d);
    }
}

/* ---- targets ---------------------------------------------------------------------------------------------------- */

TEST(targets)
{
    ua_target t;

    CHECK_EQ_I(ua_target_read("influx1:http://127.0.0.1:8086/telegraf", NULL, NULL, "", &t), EX_GO_ON);
    CHECK_STR(t.url, "http://127.0.0.1:8086/write?db=telegraf&precision=ns");
    CHECK_STR(t.create_url, "http://127.0.0.1:8086/query");
    CHECK_STR(t.create, "q=CREATE%20DATABASE%20%22telegraf%22");
    CHECK_STR(t.authorization, "");
    CHECK_STR(t.name, "http://127.0.0.1:8086/telegraf");
    CHECK_EQ_I(ua_target_read("influx1:https://[::1]/a/b/my db&x=\xc3\xa4", NULL, NULL, "Aladdin:open sesame", &t),
               EX_GO_ON);
    CHECK_STR(t.url, "https://[::1]/a/b/write?db=my%20db%26x%3D%C3%A4&precision=ns");
    CHECK_STR(t.authorization, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="); /* the example of RFC 7617 */
    CHECK_EQ_I(ua_target_read("influx1:http://h/a\"; DROP DATABASE b\\", NULL, NULL, "", &t), EX_GO_ON);
    CHECK_STR(t.create, "q=CREATE%20DATABASE%20%22a%5C%22%3B%20DROP%20DATABASE%20b%5C%5C%22");
    CHECK_EQ_I(ua_target_read("influx2:http://h:8086/", "My Org", "b/ucket", "t==", &t), EX_GO_ON);
    CHECK_STR(t.url, "http://h:8086/api/v2/write?org=My%20Org&bucket=b%2Fucket&precision=ns");
    CHECK_STR(t.authorization, "Authorization: Token t==");
    CHECK_STR(t.create_url, "");
    CHECK_EQ_I(ua_target_read("udp:[::1]:8089", NULL, NULL, "", &t), EX_GO_ON);
    CHECK_STR(t.host, "::1");
    CHECK_STR(t.port, "8089");
    CHECK_EQ_I(ua_target_read("stdout", NULL, NULL, "", &t), EX_GO_ON);
    CHECK_EQ_I(t.kind, UA_STDOUT);
}

TEST(targets_refused)
{
    static const char *const wrong[] = {
        "", "http://h/db", "influx1:", "influx1:h:8086/db", "influx1:http:///db", "influx1:http://h:8086",
        "influx1:http://h:8086/", "influx1:ftp://h/db", "influx1:http://h/db?x=1", "influx1:http://h/a\nb",
        "influx1:http://h\"/db", "udp:", "udp:h", "udp:h:0", "udp:h:65536", "udp:h:x", "udp::8089", "Stdout", "stdout ",
    };
    static char longer[2000];
    ua_target t;
    size_t i;

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status;
        listen_in();
        status = ua_target_read(wrong[i], NULL, NULL, "", &t);
        CHECK_EQ_I(lines_heard(), 1);
        if (status != EX_USAGE) NOTE("taken: %s", wrong[i]);
        CHECK_EQ_I(status, EX_USAGE);
    }
    listen_in();
    CHECK_EQ_I(ua_target_read("influx1:http://u:pw123@h/db", NULL, NULL, "", &t), EX_USAGE);
    CHECK_EQ_I(ua_target_read("http://u:pw123@h/db", NULL, NULL, "", &t), EX_USAGE);
    CHECK_EQ_I(ua_target_read("influx2:http://h", NULL, "b", "", &t), EX_USAGE);
    CHECK_EQ_I(ua_target_read("influx2:http://h", "o", NULL, "", &t), EX_USAGE);
    CHECK_EQ_I(ua_target_read("influx1:http://h/db", "o", NULL, "", &t), EX_USAGE);
    CHECK_EQ_I(ua_target_read("influx1:http://h/db", NULL, NULL, "nocolon", &t), EX_USAGE);
    CHECK_EQ_I(ua_target_read("influx2:http://h", "o", "b", "a\nHost: x", &t), EX_USAGE);
    memset(longer, 'x', sizeof longer - 1);
    memcpy(longer, "influx1:http://h/", 17);
    CHECK_EQ_I(ua_target_read(longer, NULL, NULL, "", &t), EX_USAGE);
    memcpy(longer, "udp:", 4);
    memcpy(longer + sizeof longer - 4, ":99", 3);
    CHECK_EQ_I(ua_target_read(longer, NULL, NULL, "", &t), EX_USAGE);
    CHECK_EQ_I(lines_heard(), 9);
    CHECK(strstr(heard.text, "pw123") == NULL && strstr(heard.text, "nocolon") == NULL);
}
