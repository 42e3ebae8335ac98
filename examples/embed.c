/* embed.c - the smallest honest use of the balancer: pick, done, tick

   Three servers, the last four times as fast as the first, are sent a request every two milliseconds. For two seconds
   of ten the fast one is broken and answers at once, with an error: naive balancers find it idle and send it all.
   Time is a fake clock and a server is a queue of three lines, so that the program ends at once and always says the
   same; in yours the clock is the event loop's and replies come from sockets.

   Build:   make build/embed, or with no Makefile: cc -I. examples/embed.c -lm -o embed
   Run:     build/embed [--seed N]
   Prints:  what each server got, how it fared, and how the balancer kept the broken one out

   Needs rllb.h only, asks for no memory. embed_threads.c is the next step: several workers on one block. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVERS 3
#define REQUESTS 5000
#define MOST 4096 /* in flight */

static const rllb_server_desc servers[SERVERS] = { { "slow", 1 }, { "middle", 2 }, { "fast", 4 } };
static unsigned char memory[65536]; /* the balancer lives here */
static int64_t errors;

static void serve(rllb_balancer *b, rllb_rng *rng)
{
    static struct request {
        int32_t server;
        double started_s, ends_s;
        rllb_outcome outcome;
    } flights[MOST], r;
    double free_s[SERVERS] = { 0, 0, 0 }; /* when each server has worked off its queue */
    int32_t count = 0, i, ms;

    for (ms = 0; ms < 2 * REQUESTS; ms++) { /* the event loop, by a fake clock */
        double now_s = ms * 1e-3;

        for (i = count - 1; i >= 0; i--) { /* replies */
            r = flights[i];
            if (r.ends_s > now_s) continue;
            rllb_balancer_done(b, r.server, r.started_s, now_s, r.outcome);
            errors += r.outcome == RLLB_OUTCOME_FAILED;
            flights[i] = flights[--count];
        }
        rllb_balancer_tick(b, now_s);   /* works once per interval, does nothing in between */
        if (ms % 2 || count == MOST) continue;
        r.server = rllb_balancer_pick(b, 0, now_s); /* a request */
        if (r.server < 0) continue;     /* nobody is there to serve it: yours to answer */
        r.started_s = r.ends_s = now_s;
        r.outcome = r.server == 2 && ms >= 3000 && ms < 5000 ? RLLB_OUTCOME_FAILED : RLLB_OUTCOME_OK;
        if (r.outcome == RLLB_OUTCOME_OK) { /* 5 ms of work on average, over the speed */
            if (free_s[r.server] < now_s) free_s[r.server] = now_s;
            free_s[r.server] += rllb_rng_exponential(rng, 0.005) / (double)servers[r.server].weight;
            r.ends_s = free_s[r.server];
        }
        flights[count++] = r;
    }
}

static void print(const rllb_balancer *b)
{
    rllb_counters counters;
    uint64_t all = 0;
    int32_t i;

    rllb_balancer_counters(b, &counters);
    printf("%-8s %6s %8s %7s %7s %10s %8s %10s\n", "server", "weight", "requests", "share", "failed", "in flight",
           "mean ms", "ejections");
    for (i = 0; i < SERVERS; i++) {
        rllb_server_info s;
        rllb_balancer_server(b, i, &s);
        all += s.picks;
        printf("%-8s %6g %8llu %5.1f %% %7llu %10lld %8.2f %10llu\n", s.name, (double)s.weight,
               (unsigned long long)s.picks, 100.0 * (double)s.picks / REQUESTS, (unsigned long long)s.failed,
               (long long)s.in_flight, s.samples ? 1e3 * s.duration_sum_s / (double)s.samples : 0.0,
               (unsigned long long)s.ejections);
    }
    printf("requests: %llu; %lld failed (each counts as a second), %llu found no server\n",
           (unsigned long long)(all + counters.no_server), (long long)errors, (unsigned long long)counters.no_server);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    rllb_balancer_desc desc;
    rllb_balancer *b;
    rllb_rng rng;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("the smallest use of the balancer in rllb.h\n\nusage: %s [--seed N]\n", argv[0]);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--seed") == 0 && argv[2][strspn(argv[2], "0123456789")] == '\0' && *argv[2]) {
        seed = strtoull(argv[2], NULL, 10);
    } else if (argc != 1) {
        fprintf(stderr, "embed: %s: takes --seed N, a whole number, and --help\n", argv[1]);
        return 2;
    }
    rllb_balancer_desc_default(&desc); /* all zero: shortest expected delay, the guard rails on */
    desc.servers = servers;
    desc.count = SERVERS;
    desc.seed = seed;
    if (rllb_balancer_init(&desc, memory, sizeof memory, &b) != RLLB_OK) return 1;
    rllb_rng_init(&rng, seed, 1);
    serve(b, &rng);
    print(b);
    return 0;
}
