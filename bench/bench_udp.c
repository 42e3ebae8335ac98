/* What the UDP allocator's decisions cost: nanoseconds a datagram from its arrival in a buffer to its place in the
   outbox, client chosen and counted there, in batches of 64 as they come. System calls are not in it (bench/udp.sh has
   them), nor are ends, which the second half of the rows adds. Three clients.
       udp_decide_flow       --sticky flow, a sender that is known, one of a thousand at random: its client is looked up
       udp_decide_datagram   --sticky datagram: for each a client is picked (shortest expected delay), and it is begun
       udp_decide_model      the same by a model's plan
       udp_decide_replies    the same as _datagram with replies: the sender is looked up too
       udp_all_new           a sender never seen before, while a thousand are remembered: one is forgotten and its flow
                             ended, a client is picked
       udp_all_datagram      as above, and ended when its time is over, a thousand being on their way at once
       udp_all_replies       as above, and ended by a reply
   The limit is the goal of 50 ns. Linux. */

#define _GNU_SOURCE

#include "../examples/udp/flows.c"
#include "../examples/udp/forward.c"

#include "bench.h"

enum { SENDERS = 1000, CLIENTS = 3, MANY = 65536, FEW = 2048, BATCHES = 16 };
#define GOAL_NS 50.0

typedef struct job {
    ud_forward *f;
    rllb_balancer *b;
    ud_board board;
    ud_plans plans;
    struct sockaddr_in6 *name; /* in the order they come */
    int32_t names, at;
} job;

static struct sockaddr_in6 address_of(uint32_t number)
{
    struct sockaddr_in6 a;

    memset(&a, 0, sizeof a);
    a.sin6_family = AF_INET6;
    a.sin6_port = htons((uint16_t)(1024 + number % 60000));
    a.sin6_addr.s6_addr[10] = a.sin6_addr.s6_addr[11] = 0xff;
    a.sin6_addr.s6_addr[12] = 10;
    a.sin6_addr.s6_addr[14] = (unsigned char)(number / 60000);
    return a;
}

/* A batch: 64 datagrams, 10 microseconds a datagram. */
static void arrive(job *j)
{
    ud_forward *f = j->f;
    int32_t i;

    for (i = 0; i < BATCH; i++) {
        f->in_name[i] = j->name[j->at];
        j->at = j->at + 1 < j->names ? j->at + 1 : 0;
        f->in[i].msg_len = 100;
        f->in[i].msg_hdr.msg_controllen = 0;
    }
    take_messages(f, BATCH);
}

/* What follows a batch. */
static void end(job *j)
{
    ud_forward *f = j->f;
    int32_t i, k;

    f->now_s += 10e-6 * BATCH;
    for (i = 0; f->replies && i < f->box.groups; i++) {
        const group *g = &f->box.group[i];
        for (k = g->first; k >= 0; k = f->box.item[k].next) client_answers(f, &f->flows.flow[g->out], g->to);
    }
    box_clear(&f->box);
    look_around(f);
}

static void all(void *user)
{
    arrive((job *)user);
    end((job *)user);
}

/* Median seconds a datagram of the arrivals alone: the clock runs for BATCHES of them, and stands while they end. */
static double arrivals_s(const bench *b, job *j)
{
    double sample[BENCH_SAMPLES_MAX], took;
    int i, k, rounds;

    for (i = 0; i < b->samples; i++) {
        for (took = 0, rounds = 0; took < b->sample_s; rounds++) {
            double start = bench_now_s();
            for (k = 0; k < BATCHES; k++) {
                arrive(j);
                box_clear(&j->f->box);
            }
            took += bench_now_s() - start;
            j->f->now_s += j->f->window_s;
            end(j);
        }
        sample[i] = took / ((double)rounds * BATCHES * BATCH);
    }
    return bench_median(sample, b->samples);
}

static bool open_job(job *j, rllb_balance policy, ud_sticky sticky, bool replies, uint32_t senders, uint64_t seed)
{
    rllb_balancer_desc d;
    ud_config c;
    rllb_rng r;
    int32_t i;

    memset(j, 0, sizeof *j);
    ud_plan_open(&j->plans);
    rllb_rng_init(&r, seed, 0);
    rllb_balancer_desc_default(&d);
    d.policy = policy;
    d.capacity = UD_CLIENTS_MOST;
    d.count = CLIENTS;
    d.seed = seed;
    d.choose = ud_plan_choose;
    d.choose_self = &j->plans;
    j->b = rllb_balancer_create(&d);
    j->name = malloc(MANY * sizeof *j->name);
    if (!j->b || !j->name) return false;
    for (i = 0; i < CLIENTS; i++) {
        struct sockaddr_in6 a = address_of(1000000 + (uint32_t)i);
        ud_seat_put(&j->board, i, &a);
    }
    ud_board_mirror(&j->board, j->b);
    j->names = senders < MANY ? FEW : MANY; /* few enough to be in the cache, where the kernel would have put them */
    for (i = 0; i < j->names; i++) {
        uint32_t which = senders < MANY ? (uint32_t)rllb_rng_below(&r, (int32_t)senders) : (uint32_t)i;
        j->name[i] = address_of(which);
    }
    if (policy == RLLB_BALANCE_CHOOSE) {
        int32_t plan[UD_PLAN_MOST];
        for (i = 0; i < UD_PLAN_MOST; i++) plan[i] = rllb_rng_below(&r, CLIENTS);
        ud_plan_publish(&j->plans, plan, UD_PLAN_MOST);
    }
    memset(&c, 0, sizeof c);
    c.listen = address_of(0);
    memset(c.listen.sin6_addr.s6_addr, 0, 16);
    c.listen.sin6_addr.s6_addr[15] = 1;
    c.listen.sin6_port = 0;
    c.sticky = sticky;
    c.replies = replies;
    c.flows = SENDERS;
    c.idle_s = 1e9;
    c.window_s = 0.01;
    c.seed = seed;
    return ud_forward_create(&c, j->b, &j->board, &j->f);
}

/* decide: without the ends. */
static void measure(bench *b, const char *name, bool decide, rllb_balance policy, ud_sticky sticky, bool replies,
                    uint32_t senders)
{
    static job j;
    double s;

    if (!bench_wanted(b, name)) return;
    if (!open_job(&j, policy, sticky, replies, senders, b->seed)) exit(1);
    s = decide ? arrivals_s(b, &j) : bench_time(b, all, &j, NULL, NULL).job_s / BATCH;
    bench_row(b, name, 1e9 * s, "ns", decide ? GOAL_NS : 0, BENCH_LESS_IS_BETTER);
    if (ud_load(&j.board.no_client)) {
        fprintf(stderr, "bench_udp: %s: datagrams without a client\n", name);
        exit(1);
    }
    ud_forward_destroy(j.f);
    rllb_balancer_destroy(j.b);
    free(j.name);
}

int main(int argc, char **argv)
{
    bench b;

    bench_open(&b, argc, argv, "decisions of the UDP allocator");
    measure(&b, "udp_decide_flow", true, RLLB_BALANCE_SED, UD_STICKY_FLOW, false, SENDERS);
    measure(&b, "udp_decide_datagram", true, RLLB_BALANCE_SED, UD_STICKY_DATAGRAM, false, SENDERS);
    measure(&b, "udp_decide_model", true, RLLB_BALANCE_CHOOSE, UD_STICKY_DATAGRAM, false, SENDERS);
    measure(&b, "udp_decide_replies", true, RLLB_BALANCE_SED, UD_STICKY_DATAGRAM, true, SENDERS);
    measure(&b, "udp_all_new", false, RLLB_BALANCE_SED, UD_STICKY_FLOW, false, MANY);
    measure(&b, "udp_all_datagram", false, RLLB_BALANCE_SED, UD_STICKY_DATAGRAM, false, SENDERS);
    measure(&b, "udp_all_replies", false, RLLB_BALANCE_SED, UD_STICKY_DATAGRAM, true, SENDERS);
    return bench_close(&b);
}
