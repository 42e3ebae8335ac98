/* What the UDP allocator would know, on stdout: the driver of udp_sources.sh

       udp_watch ports N                        N free ports of TCP, of those that the kernel gives to nobody by itself
       udp_watch get URL                        the status and the answer
       udp_watch post URL                       the same, with stdin as the body; header: UDP_HEADER
       udp_watch watch SOURCE CLIENTS SECONDS   four times a second, each client: "NAME known 1 cpu 0.4 memory ...
                                                network ... age ..."; and "failing N: why". CLIENTS: NAME[=ADDRESS],...

   The rest of the settings comes from the environment: UDP_DATABASE, UDP_ORG, UDP_TOKEN, UDP_CAPACITY, UDP_STALE. */

#include "udp.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *outside(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value ? value : otherwise;
}

/* The first of the ports that the kernel deals out. */
static int dealt_out(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    int first = 0;

    if (f && fscanf(f, "%d", &first) != 1) first = 0;
    if (f) fclose(f);
    return first;
}

static int port_take(int port)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)port);
    if (fd >= 0 && bind(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0 &&
        getsockname(fd, (struct sockaddr *)(void *)&a, &size) == 0) return (int)ntohs(a.sin_port);
    if (fd >= 0) close(fd);
    return 0;
}

/* All are held until the end, so that none comes twice. */
static int ports(int count)
{
    int first = dealt_out(), span = first > 14048 ? 12000 : first - 2048, tries, port = 0;
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    srand((unsigned)t.tv_nsec ^ (unsigned)getpid());
    for (; count > 0; count--) {
        for (tries = 0, port = 0; tries < 1000 && !port; tries++) {
            port = port_take(span > 0 && tries < 900 ? first - 1 - rand() % span : 0);
        }
        if (!port) return ex_fail("no port");
        printf("%d ", port);
    }
    printf("\n");
    return 0;
}

static void show(void *user, const ud_answer *a)
{
    bool *done = user;

    printf("%d %.*s\n", (int)a->status, (int)a->size, a->text);
    *done = true;
}

static int fetch(const char *url, bool posts)
{
    const char *headers[2] = { getenv("UDP_HEADER"), NULL };
    static char body[65536];
    bool done = false;
    ud_web *w;
    int i;

    body[posts ? fread(body, 1, sizeof body - 1, stdin) : 0] = '\0';
    if (!ud_web_create(&w)) return 1;
    if (!ud_web_ask(w, url, headers, posts ? body : NULL, NULL, 5, show, &done)) return 1;
    for (i = 0; i < 100 && !done; i++) ud_web_turn(w, 0.1);
    ud_web_destroy(w);
    return done ? 0 : 1;
}

static void name_clients(ud_metrics *m, char *list)
{
    char *comma, *equals;
    int32_t i = 0;

    for (; list; list = comma) {
        comma = strchr(list, ',');
        if (comma) *comma++ = '\0';
        equals = strchr(list, '=');
        if (equals) *equals++ = '\0';
        ud_metrics_name(m, i++, list, equals ? equals : "");
    }
}

static void tell(const ud_source *s, const ud_metrics *m, double now_s)
{
    const char *name, *address;
    char why[160];
    ud_shares f;
    int32_t i, failing = ud_source_failing(s, why);

    for (i = 0; ud_metrics_client(m, i, &name, &address); i++) {
        ud_metrics_shares(m, i, now_s, &f);
        printf("%s known %d cpu %.4f memory %.4f network %.6f age %.2f\n", name, (int)f.known, f.cpu, f.memory,
               f.network, f.age_s);
    }
    if (failing) printf("failing %d: %s\n", (int)failing, why);
    fflush(stdout);
}

static int watch(const char *source, char *clients, double seconds)
{
    double start = ex_clock_s(), next = start, now_s;
    ud_metrics *m;
    ud_source *s;
    ud_config c;

    memset(&c, 0, sizeof c);
    snprintf(c.source, sizeof c.source, "%s", source);
    snprintf(c.database, sizeof c.database, "%s", outside("UDP_DATABASE", ""));
    snprintf(c.org, sizeof c.org, "%s", outside("UDP_ORG", ""));
    snprintf(c.token, sizeof c.token, "%s", outside("UDP_TOKEN", ""));
    snprintf(c.capacity, sizeof c.capacity, "%s", outside("UDP_CAPACITY", ""));
    c.interval_s = 0.25;
    c.stale_s = atof(outside("UDP_STALE", "5"));
    if (!ud_metrics_create(&c, &m)) return 2;
    if (!ud_source_create(&c, &s)) return 2;
    name_clients(m, clients);
    while ((now_s = ex_clock_s()) < start + seconds) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        ud_source_turn(s, m, (double)t.tv_sec + 1e-9 * (double)t.tv_nsec, now_s);
        if (now_s >= next) {
            tell(s, m, now_s);
            next += 0.25;
        }
        ud_source_wait(s, 0.05);
    }
    ud_source_destroy(s);
    ud_metrics_destroy(m);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ports") == 0) return ports(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "get") == 0) return fetch(argv[2], false);
    if (argc == 3 && strcmp(argv[1], "post") == 0) return fetch(argv[2], true);
    if (argc == 5 && strcmp(argv[1], "watch") == 0) return watch(argv[2], argv[3], atof(argv[4]));
    return ex_fail("ports N, get URL, post URL, watch SOURCE CLIENTS SECONDS");
}
