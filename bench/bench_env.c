/* How fast the worlds step: the three-server cluster, many environments in one call, auto-reset on, random actions
   drawn anew for every step and counted in. Build from the root of the tree with
       cc -std=c99 -D_POSIX_C_SOURCE=200809L -O3 -I. -Ibench bench/bench_env.c -lm -o bench_env
   It prints steps per second, more is better.
       env_steps              published reward, low traffic: the goal is 50 million on one core, which is its limit
                              column (share above 1: faster than asked for)
       env_steps_honest       honest reward, bursty traffic; same goal
       env_steps_of_draws     env_steps against the physical limit: the random numbers a step cannot do without, one
                              for the arrival and half a one for the action, drawn alone in turn with it
       env_steps_one          a single environment, as a learner steps it; no limit
       trace_bytes            text of a trace read, bytes per second; no limit
       sim_flows              flows per second of the flow-level world: two balancers with sed over 4 servers of 2 CPUs
                              and 3 of 4, load 0.8, exponential work, picks, ends and ticks counted in; the goal is
                              5 million on one core
       sim_flows_N_M          the same with N servers of 4 CPUs, 32 flows a second each whatever N is, and M balancers,
                              all with sed; the limit lets the cost of a flow grow as log N: it is the rate of 8 servers
                              and one balancer, timed in turn with it, times log 8 / log N */

#define RLLB_IMPLEMENTATION
#include "rllb_env.h"

#include "bench.h"

enum { ENVIRONMENTS = 256 };

typedef struct world {
    rllb_env_cluster *env;
    rllb_rng rng, yard[2];
    int32_t count, actions[ENVIRONMENTS];
    float rewards[ENVIRONMENTS];
    uint8_t terminated[ENVIRONMENTS], truncated[ENVIRONMENTS];
    int64_t ended;
    uint64_t sum;
} world;

typedef struct text {
    char *bytes;
    size_t size;
    void *memory;
    size_t memory_size;
} text;

static void step(void *user)
{
    world *w = (world *)user;

    rllb_env_random_actions(&w->rng, 3, w->actions, w->count);
    w->ended += rllb_env_cluster_step(w->env, w->actions, w->rewards, w->terminated, w->truncated);
    BENCH_KEEP(w->rewards);
}

static void draw(void *user)
{
    world *w = (world *)user;
    rllb_rng r = w->yard[0], s = w->yard[1];
    uint64_t sum = 0;
    int32_t i;

    for (i = 0; i < w->count; i += 2) sum += rllb_rng_u64(&r) ^ rllb_rng_u64(&s) ^ rllb_rng_u64(&r);
    w->yard[0] = r;
    w->yard[1] = s;
    w->sum += sum;
    BENCH_KEEP(w);
}

static void read_trace(void *user)
{
    text *t = (text *)user;
    rllb_env_trace *trace = NULL;

    if (rllb_env_trace_init(NULL, t->bytes, t->size, t->memory, t->memory_size, &trace, NULL) != RLLB_OK) exit(1);
    BENCH_KEEP(trace);
}

static void open_world(world *w, rllb_env_mode mode, rllb_env_traffic traffic, int32_t count, uint64_t seed)
{
    rllb_env_cluster_desc d;

    memset(w, 0, sizeof *w);
    rllb_env_cluster_desc_default(&d);
    d.mode = mode;
    d.traffic = traffic;
    d.environments = w->count = count;
    d.auto_reset = true;
    d.seed = seed;
    w->env = rllb_env_cluster_create(&d);
    if (!w->env) {
        fprintf(stderr, "bench_env: not enough memory\n");
        exit(1);
    }
    rllb_rng_init(&w->rng, seed, 1u << 30);
    rllb_rng_init(&w->yard[0], seed, (1u << 30) + 1);
    rllb_rng_init(&w->yard[1], seed, (1u << 30) + 2);
}

static void trace_job(bench *b)
{
    enum { ROWS = 20000, ROOM = ROWS * 48 };
    bench_sample s;
    text t;
    int i;

    t.bytes = (char *)malloc(ROOM);
    if (!t.bytes) exit(1);
    t.size = (size_t)snprintf(t.bytes, ROOM, "TIMESTAMP,ContextTokens,GeneratedTokens\r\n");
    for (i = 0; i < ROWS; i++) {
        t.size += (size_t)snprintf(t.bytes + t.size, ROOM - t.size, "2023-11-16 %02d:%02d:%02d.%07d,%d,%d\r\n",
                                   i / 3600, i / 60 % 60, i % 60, i * 7919 % 10000000, i % 3000, i % 500 + 1);
    }
    t.memory_size = rllb_env_trace_size(t.bytes, t.size);
    t.memory = malloc(t.memory_size);
    if (!t.memory) exit(1);
    s = bench_time(b, read_trace, &t, NULL, NULL);
    bench_row(b, "trace_bytes", (double)t.size / s.job_s, "bytes/s", 0, BENCH_MORE_IS_BETTER);
    free(t.memory);
    free(t.bytes);
}

typedef struct flows {
    rllb_env_flows *world;
    double now_s, step_s;
    int64_t calls;
} flows;

static void flow_on(void *user)
{
    flows *f = (flows *)user;

    f->now_s += f->step_s;
    if (rllb_env_flows_run(f->world, f->now_s) != RLLB_OK) exit(1);
    f->calls++;
}

/* n servers, m balancers; some 2,000 flows to a call. */
static void flows_open(flows *f, uint64_t seed, int32_t n, int32_t m)
{
    static rllb_env_server_desc servers[1024];
    rllb_env_flows_desc d;
    int32_t j, cpus = 0;

    memset(servers, 0, sizeof servers);
    for (j = 0; j < n; j++) cpus += servers[j].cpus = n == 7 && j < 4 ? 2 : 4;
    memset(f, 0, sizeof *f);
    rllb_env_flows_desc_default(&d);
    d.balancer.policy = RLLB_BALANCE_SED;
    d.balancers = m;
    d.servers = servers;
    d.count = n;
    d.work_s = 0.1;
    d.rate = 0.8 * cpus / d.work_s;
    d.seed = seed;
    f->world = rllb_env_flows_create(&d);
    if (!f->world) exit(1);
    f->step_s = 2000 / d.rate;
    f->now_s = 20;
    rllb_env_flows_run(f->world, f->now_s); /* from empty to full */
}

/* Against a goal, or against as many flows of the smallest world. */
static void flows_row(bench *b, const char *name, int32_t n, int32_t m, double goal)
{
    rllb_env_flows_info before, after;
    flows f, small;
    bench_sample s;
    double rate;

    flows_open(&f, b->seed, n, m);
    flows_open(&small, b->seed, 8, 1);
    rllb_env_flows_query(f.world, &before);
    s = bench_time(b, flow_on, &f, goal > 0 ? NULL : flow_on, &small);
    rllb_env_flows_query(f.world, &after);
    rate = (double)(after.arrived - before.arrived) / (double)f.calls / s.job_s;
    if (!(goal > 0)) goal = rate / s.ratio * log(8) / log(n);
    bench_row(b, name, rate, "flows/s", goal, BENCH_MORE_IS_BETTER);
    rllb_env_flows_destroy(small.world);
    rllb_env_flows_destroy(f.world);
}

static void flows_jobs(bench *b)
{
    static const int32_t servers[] = { 8, 32, 128, 512, 1024 }, balancers[] = { 1, 8, 32, 128 };
    char name[40];
    int i, j;

    if (bench_wanted(b, "sim_flows")) flows_row(b, "sim_flows", 7, 2, 5e6);
    for (j = 0; j < 4; j++) {
        for (i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "sim_flows_%d_%d", (int)servers[i], (int)balancers[j]);
            if (bench_wanted(b, name)) flows_row(b, name, servers[i], balancers[j], 0);
        }
    }
}

int main(int argc, char **argv)
{
    static const double goal = 50e6;
    static world w;
    bench_sample s;
    bench b;

    bench_open(&b, argc, argv, "steps per second of the worlds in rllb_env.h, on one core");
    if (bench_wanted(&b, "env_steps") || bench_wanted(&b, "env_steps_of_draws")) {
        open_world(&w, RLLB_ENV_SEED0, RLLB_ENV_LOW, ENVIRONMENTS, b.seed);
        s = bench_time(&b, step, &w, draw, &w);
        if (bench_wanted(&b, "env_steps")) {
            bench_row(&b, "env_steps", ENVIRONMENTS / s.job_s, "steps/s", goal, BENCH_MORE_IS_BETTER);
        }
        bench_row(&b, "env_steps_of_draws", ENVIRONMENTS / s.job_s, "steps/s", ENVIRONMENTS / s.job_s / s.ratio,
                  BENCH_MORE_IS_BETTER);
        rllb_env_cluster_destroy(w.env);
    }
    if (bench_wanted(&b, "env_steps_honest")) {
        open_world(&w, RLLB_ENV_HONEST, RLLB_ENV_BURSTY, ENVIRONMENTS, b.seed);
        s = bench_time(&b, step, &w, NULL, NULL);
        bench_row(&b, "env_steps_honest", ENVIRONMENTS / s.job_s, "steps/s", goal, BENCH_MORE_IS_BETTER);
        rllb_env_cluster_destroy(w.env);
    }
    if (bench_wanted(&b, "env_steps_one")) {
        open_world(&w, RLLB_ENV_SEED0, RLLB_ENV_LOW, 1, b.seed);
        s = bench_time(&b, step, &w, NULL, NULL);
        bench_row(&b, "env_steps_one", 1 / s.job_s, "steps/s", 0, BENCH_MORE_IS_BETTER);
        rllb_env_cluster_destroy(w.env);
    }
    if (bench_wanted(&b, "trace_bytes")) trace_job(&b);
    flows_jobs(&b);
    return bench_close(&b);
}
