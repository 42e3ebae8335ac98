/* embed_learned.c - a balancer of your own that is steered by a model file

   Four servers of unlike speed, of which the balancer is told nothing, are sent requests for two minutes, by shortest
   expected delay and by the learned policy, which finds out what each is worth. policy_load() and steered() are all
   that it takes: what a model file says of itself, and what the balancer's descriptor needs of that.

   Build:   make build/embed_learned, or with no Makefile: cc -I. examples/embed_learned.c -lm -o embed_learned
   Run:     build/embed_learned [--model FILE] [--seed N]      models/rllb-balancer.safetensors, 1
   Prints:  mean time of a request, also of a balancer that is told the speeds, and the weights that were found

   Needs rllb.h and rllb_nn.h only. Time is a fake clock, servers are queues of three lines, as in embed.c. */

#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include "rllb_nn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVERS 4
#define SECONDS 120
#define MOST 4096 /* in flight */
#define MODEL_BYTES_MOST (1L << 26)
#define WORK_S 0.02
#define LOAD 0.8

static const double speed[SERVERS] = { 1, 1, 2, 4 }; /* nobody tells the balancer */
static const rllb_server_desc servers[SERVERS] = { { "slow", 1 }, { "slow too", 1 }, { "middle", 1 }, { "fast", 1 } };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "embed_learned: %s: %s\n", what, why);
    return 1;
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long end = -1;

    if (f && fseek(f, 0, SEEK_END) == 0) end = ftell(f);
    if (end > 0 && end <= MODEL_BYTES_MOST && fseek(f, 0, SEEK_SET) == 0) bytes = (unsigned char *)malloc((size_t)end);
    if (bytes && fread(bytes, 1, (size_t)end, f) != (size_t)end) {
        free(bytes);
        bytes = NULL;
    }
    if (f) fclose(f);
    *size = bytes ? (size_t)end : 0;
    return bytes;
}

static bool says(const void *file, size_t size, const char *key, const char *value)
{
    char text[64];

    return rllb_nn_file_meta(file, size, key, text, sizeof text) == RLLB_OK && strcmp(text, value) == 0;
}

/* A policy of the file's, for up to so many servers at once. NULL: it is no file for a balancer set up as below. */
static rllb_nn_policy *policy_load(const void *file, size_t size, int32_t most)
{
    rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
    rllb_nn_policy_desc desc;
    rllb_nn_policy *p;

    if (rllb_nn_file_check(file, size, NULL) != RLLB_OK) return NULL;
    if (!says(file, size, "features", "relative") || !says(file, size, "form", "draw") ||
        !says(file, size, "control_form", "yes") || !says(file, size, "control_steps", "yes")) {
        return NULL;
    }
    if (rllb_nn_policy_desc_load(file, size, most, &desc) != RLLB_OK) return NULL;
    p = rllb_nn_policy_create(&desc);
    if (!p) return NULL;
    rllb_nn_policy_entries(p, &a);
    if (rllb_nn_archive_load(&a, file, size, NULL) == RLLB_OK) return p;
    rllb_nn_policy_destroy(p);
    return NULL;
}

/* The balancer that such a policy steers. tick calls it, every 250 ms. */
static void steered(rllb_balancer_desc *b, rllb_nn_policy *policy)
{
    b->policy = RLLB_BALANCE_LEARNED;
    b->features = RLLB_FEATURES_RELATIVE;
    b->form = RLLB_FORM_DRAW;
    b->d = 5; /* as it begins; what the file says */
    b->gamma = 0.27f;
    b->control_form = true;
    b->control_steps = true;
    b->spread = 1; /* others that share the servers: other seeds or streams */
    b->control = rllb_nn_policy_control;
    b->control_self = policy; /* one a balancer; it must outlive it */
}

/* ---- servers to try it on -------------------------------------------------------------------------------------- */

/* Mean time of a request. */
static double serve(rllb_balancer *b, uint64_t seed)
{
    static struct request {
        int32_t server;
        double started_s, ends_s;
    } flights[MOST], r;
    double free_s[SERVERS] = { 0, 0, 0, 0 }, next_s = 0, sum_s = 0, capacity = 0, now_s;
    int32_t count = 0, i, ms;
    int64_t ended = 0;
    rllb_rng rng;

    for (i = 0; i < SERVERS; i++) capacity += speed[i] / WORK_S;
    rllb_rng_init(&rng, seed, 1);
    for (ms = 0; ms < SECONDS * 1000; ms++) { /* the event loop */
        now_s = ms * 1e-3;
        for (i = count - 1; i >= 0; i--) { /* replies */
            r = flights[i];
            if (r.ends_s > now_s) continue;
            rllb_balancer_done(b, r.server, r.started_s, now_s, RLLB_OUTCOME_OK);
            sum_s += r.ends_s - r.started_s;
            ended++;
            flights[i] = flights[--count];
        }
        rllb_balancer_tick(b, now_s); /* here the network thinks */
        for (; next_s <= now_s && count < MOST; next_s += rllb_rng_exponential(&rng, 1 / (LOAD * capacity))) {
            r.server = rllb_balancer_pick(b, 0, now_s);
            r.started_s = r.ends_s = now_s;
            if (free_s[r.server] < now_s) free_s[r.server] = now_s;
            free_s[r.server] += rllb_rng_exponential(&rng, WORK_S) / speed[r.server];
            r.ends_s = free_s[r.server];
            flights[count++] = r;
        }
    }
    return sum_s / (double)ended;
}

/* ---- main ------------------------------------------------------------------------------------------------------ */

/* The end of a run under that descriptor; NULL: no memory. */
static rllb_balancer *run(const rllb_balancer_desc *desc, uint64_t seed, const char *name)
{
    rllb_balancer *b = rllb_balancer_create(desc);

    if (b) printf("%-30s %5.1f ms\n", name, 1e3 * serve(b, seed));
    return b;
}

static int compare(rllb_nn_policy *policy, uint64_t seed)
{
    rllb_server_desc told[SERVERS];
    rllb_balancer_desc desc;
    rllb_server_info info;
    rllb_balancer *b[3];
    double mean = 0;
    int32_t i;

    for (i = 0; i < SERVERS; i++) {
        told[i].name = servers[i].name;
        told[i].weight = (float)speed[i];
        mean += speed[i] / SERVERS;
    }
    rllb_balancer_desc_default(&desc); /* shortest expected delay */
    desc.count = SERVERS;
    desc.seed = seed;
    desc.servers = told;
    printf("mean time of a request\n");
    b[0] = run(&desc, seed, "sed, told the speeds");
    desc.servers = servers;
    b[1] = run(&desc, seed, "sed, told nothing");
    steered(&desc, policy);
    b[2] = run(&desc, seed, "the model, told nothing");
    if (b[2]) printf("\n%-9s %15s %13s\n", "server", "speed over mean", "weight found");
    for (i = 0; b[2] && rllb_balancer_server(b[2], i, &info) == RLLB_OK; i++) {
        printf("%-9s %15.2f %13.2f\n", info.name, speed[i] / mean, (double)info.weight_in_force);
    }
    i = b[0] && b[1] && b[2] ? 0 : fail("balancer", "not enough memory");
    rllb_balancer_destroy(b[0]);
    rllb_balancer_destroy(b[1]);
    rllb_balancer_destroy(b[2]);
    return i;
}

int main(int argc, char **argv)
{
    const char *path = "models/rllb-balancer.safetensors";
    unsigned char *file;
    rllb_nn_policy *policy;
    uint64_t seed = 1;
    size_t size;
    int i, status;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("a balancer steered by a model file\n\nusage: %s [--model FILE] [--seed N]\n", argv[0]);
        return 0;
    }
    for (i = 1; i + 1 < argc; i += 2) {
        bool number = argv[i + 1][0] && !argv[i + 1][strspn(argv[i + 1], "0123456789")];
        if (strcmp(argv[i], "--model") == 0) path = argv[i + 1];
        else if (strcmp(argv[i], "--seed") == 0 && number) seed = strtoull(argv[i + 1], NULL, 10);
        else break;
    }
    if (i < argc) {
        fprintf(stderr, "embed_learned: %s: takes --model FILE, --seed N, a whole number, and --help\n", argv[i]);
        return 2;
    }
    file = read_file(path, &size);
    if (!file) return fail(path, "cannot be read");
    policy = policy_load(file, size, SERVERS);
    free(file); /* the policy has copied it */
    if (!policy) return fail(path, "is no model for many sites");
    status = compare(policy, seed);
    rllb_nn_policy_destroy(policy);
    return status;
}
