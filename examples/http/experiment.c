/* experiment.c - the learning HTTP balancer against others, for real: backends, proxies and load over loopback

   Every policy meets the same arrivals and demands, repeat by repeat, in turns, with processes of its own:

   three     the published servers of 50, 75 and 100 ms: as they are described, answers that only take time, and as they
             were measured, where a look at the CPU holds up the whole server for 100 ms at every request; a client that
             waits, and open arrivals
   farm      4 servers of 2 slots and 3 of 4, exponential demands of 25 ms, three loads
   degraded  the same, two servers at 0.3 of their speed without notice, behind one proxy and behind two
   faults    a server that slows down and heals; one that fails whatever it gets
   apache    Apache with PHP that computes, under CPU quotas; only where this may make cgroups

   With --host the same before nginx, with the module of examples/nginx and without, and before HAProxy, with its
   companion and without: farm, degraded, faults as above, and

   equal     five identical servers for ten minutes
   lost      reloads, restarts, kills of all sorts while requests come
   cost      as many requests as nginx can serve, 10,000 a second for HAProxy; processor time of both, of companions

   It starts what it needs on ports that the kernel chooses, and all of that ends with it, however it ends.

   Build:   make build/http/experiment build/http/backend build/http/load build/http/proxy
            for --host make nginx-module build/haproxy/companion
   Run:     build/http/experiment [--quick]      (make http-experiment: quick; make http-experiment FULL=1)
            build/http/experiment --host nginx,haproxy --out out/integration [--quick]       (make integration)
   Prints:  a table for every scene, and which goals were reached
   Writes:  results.json, comparison_results.json, request_logs.csv, summary_report.md, runs/ with a log for every run,
            latency_over_time.png throughput_comparison.png server_utilization.png learning_curve.png
            latency_distribution.png comparison_summary.png healing.png, healing_HOST.png equal.png */

#include "experiment.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const lab_part_names[] = { "three", "farm", "degraded", "faults", "apache", "equal", "lost", "cost",
                                       NULL };

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static const char *policies_text = "round_robin,lsq,sed,q_learning,learned";
static uint32_t parts = (1U << LAB_PARTS) - 1;
static int32_t requests = 1000, learn = 1000;
static double seconds, rate = 10;
static ex_program program;

static lab all = { .program = &program, .out = "out/http", .seed = 1, .repeats = 5, .hosts = 1U << LAB_PROXY };

static ex_option options[] = {
    EX_HEADING("What is run"),
    EX_CHOICES("host", &all.hosts, lab_host_names, "what balances: proxy,nginx,haproxy, one or several"),
    EX_CHOICES("parts", &parts, lab_part_names,
               "some of three,farm,degraded,faults,apache; of nginx and haproxy: farm,degraded,faults,equal,lost,cost"),
    EX_STRING("policies", &policies_text, "P,P,...", "those of the proxy, by name; other hosts have theirs"),
    EX_INT("repeats", &all.repeats, 1, LAB_REPEATS, "N", "runs of every cell, each with a seed of its own"),
    EX_SEED("seed", &all.seed, "of the first repeat"),
    EX_INT("requests", &requests, 10, 1000000, "N", "three: requests that are judged"),
    EX_INT("learn", &learn, 0, 1000000, "N", "three: requests before those, for learning"),
    EX_DOUBLE("rate", &rate, 0.1, 10000, "R", "three: requests per second"),
    EX_DOUBLE("seconds", &seconds, 2, 3600, "S",
              "farm, degraded, faults, apache, equal, lost, cost: of a run; default: 20, 60, 50, 20, 600, 15, 6"),
    EX_FLAG("quick", &all.quick, "short runs and one repeat, under two minutes: shows that it works, proves nothing"),
    EX_HEADING("How"),
    EX_INT("jobs", &all.jobs, 1, 64, "N",
           "cells at a time, twenty times as many of three; default: all policies of a scene, so that what the "
           "machine does meets them alike"),
    EX_STRING("bin", &all.bin, "DIR", "where backend, load and proxy are; default: beside this program"),
    EX_STRING("module", &all.module, "FILE", "of nginx; default, from --bin: ../nginx/ngx_http_rllb_module.so"),
    EX_STRING("companion", &all.companion, "FILE", "of haproxy; default: ../haproxy/companion"),
    EX_STRING("model", &all.model, "FILE", "of both; default: ../../models/rllb-balancer.safetensors"),
    EX_FLAG("resume", &all.resume, "keep the runs that --out holds already, made with these same options"),
    EX_STRING("out", &all.out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &all.quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "experiment",
    .summary = "a learning HTTP balancer against others, over loopback",
    .details = "Weights: all policies but learned and q_learning are told what the servers can do by what they are\n"
               "sold as; sed+told, in degraded, what they can do in truth. \"lsq again\" is lsq a second time, with\n"
               "the same requests: how far it is from lsq is the noise of the machine. nginx and haproxy: +slots\n"
               "is told what the servers are sold as, +told what they can do in truth, the others nothing.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- policies ---------------------------------------------------------------------------------------------------- */

bool lab_has(const lab_scene *s, int32_t policy)
{
    return s->wanted && (s->policies >> policy & 1) != 0;
}

lab_run *lab_run_of(const lab *l, int32_t scene, int32_t policy, int32_t repeat)
{
    return &l->runs[(scene * l->policies + policy) * l->repeats + repeat];
}

int32_t lab_find(const lab *l, const char *policy)
{
    int32_t i;

    for (i = 0; i < l->policies; i++) {
        if (l->policy[i].host == LAB_PROXY && strcmp(l->policy[i].name, policy) == 0) return i;
    }
    return -1;
}

int32_t lab_role_of(const lab *l, int32_t scene, lab_role role)
{
    int32_t i;

    for (i = 0; scene >= 0 && i < l->policies; i++) {
        if (lab_has(&l->scene[scene], i) && l->policy[i].role == role) return i;
    }
    return -1;
}

int32_t lab_find_scene(const lab *l, lab_host host, const char *world)
{
    int32_t i;

    for (i = 0; i < l->scenes; i++) {
        const lab_scene *s = &l->scene[i];
        if (s->wanted && s->host == host && strcmp(s->world, world) == 0) return i;
    }
    return -1;
}

double lab_weight(const lab_scene *s, int32_t server, lab_told told)
{
    if (told == LAB_TOLD_NOTHING) return 1;
    return told == LAB_TOLD_TRUE ? s->server[server].truly : s->server[server].before;
}

static ex_path file_of(const lab *l, int32_t scene, int32_t policy, int32_t repeat, const char *end)
{
    ex_path folder = ex_path_join(ex_path_join(l->out, "runs").text, l->scene[scene].key);
    char name[80], *c;

    snprintf(name, sizeof name, "%s-%d.%s", l->policy[policy].name, (int)repeat + 1, end);
    for (c = name; *c; c++) {
        if (*c == ' ') *c = '_';
    }
    return ex_path_join(folder.text, name);
}

ex_path lab_log(const lab *l, int32_t scene, int32_t policy, int32_t repeat)
{
    return file_of(l, scene, policy, repeat, "csv");
}

ex_path lab_used(const lab *l, int32_t scene, int32_t policy, int32_t repeat)
{
    return file_of(l, scene, policy, repeat, "used");
}

static lab_policy *policy_add(lab *l, lab_host host, lab_role role, const char *name, const char *policy, lab_told told)
{
    lab_policy *p = &l->policy[l->policies++];
    int32_t i;

    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->policy, sizeof p->policy, "%s", policy);
    p->host = host;
    p->role = role;
    p->told = told;
    p->again = -1;
    for (i = 0; i < l->policies - 1; i++) p->color += l->policy[i].host == host;
    return p;
}

static bool known(const char *name)
{
    const char *all_names = rllb_balance_names(), *at = all_names;
    size_t size = strlen(name);

    if (strcmp(name, "q_learning") == 0) return true;
    while ((at = strstr(at, name)) != NULL) {
        if ((at == all_names || at[-1] == ' ') && (at[size] == ',' || at[size] == '\0')) return true;
        at += size;
    }
    return false;
}

static lab_role proxy_role(const char *name)
{
    if (strcmp(name, "lsq") == 0) return LAB_BASE;
    if (strcmp(name, "sed") == 0) return LAB_WEIGHTED;
    return strcmp(name, "learned") == 0 ? LAB_LEARNED : LAB_OTHER;
}

static int read_policies(lab *l)
{
    const char *at = policies_text;

    while (true) {
        size_t size = strcspn(at, ",");
        char name[32];
        bool learns;
        snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), at);
        if (size >= sizeof name || !*name || !known(name)) {
            return ex_usage("policies", "no '%s' here; there are q_learning, %s", name, rllb_balance_names());
        }
        if (lab_find(l, name) >= 0) return ex_usage("policies", "%s is there twice", name);
        if (l->policies >= LAB_OWN - 3) return ex_usage("policies", "at most %d", LAB_OWN - 3);
        learns = strcmp(name, "learned") == 0 || strcmp(name, "q_learning") == 0;
        policy_add(l, LAB_PROXY, proxy_role(name), name, name, learns ? LAB_TOLD_NOTHING : LAB_TOLD_BEFORE);
        if (at[size] == '\0') break;
        at += size + 1;
    }
    if (lab_find(l, "awcmp") < 0) policy_add(l, LAB_PROXY, LAB_OTHER, "awcmp", "awcmp", LAB_TOLD_BEFORE)->apache = true;
    if (lab_find(l, "sed") >= 0) policy_add(l, LAB_PROXY, LAB_ORACLE, "sed+told", "sed", LAB_TOLD_TRUE);
    if (lab_find(l, "lsq") >= 0) {
        lab_policy *p = policy_add(l, LAB_PROXY, LAB_AGAIN, "lsq again", "lsq", LAB_TOLD_BEFORE);
        p->again = lab_find(l, "lsq");
    }
    return EX_GO_ON;
}

/* Each host's own method, and rllb in it; scenes choose by role. */
static void add_host_policies(lab *l)
{
    static const struct {
        lab_host host;
        lab_role role;
        const char *name, *policy;
        lab_told told;
    } those[] = {
        { LAB_NGINX, LAB_BASE, "least_conn", "least_conn", LAB_TOLD_NOTHING },
        { LAB_NGINX, LAB_WEIGHTED, "least_conn+slots", "least_conn", LAB_TOLD_BEFORE },
        { LAB_NGINX, LAB_PLAIN, "sed", "rllb policy=sed", LAB_TOLD_NOTHING },
        { LAB_NGINX, LAB_ORACLE, "sed+told", "rllb policy=sed", LAB_TOLD_TRUE },
        { LAB_NGINX, LAB_LEARNED, "learned", "rllb policy=learned", LAB_TOLD_NOTHING },
        { LAB_NGINX, LAB_LEARNED_WEIGHTED, "learned+slots", "rllb policy=learned", LAB_TOLD_BEFORE },
        { LAB_NGINX, LAB_AGAIN, "least_conn again", "least_conn", LAB_TOLD_NOTHING },
        { LAB_HAPROXY, LAB_BASE, "leastconn", "leastconn", LAB_TOLD_NOTHING },
        { LAB_HAPROXY, LAB_WEIGHTED, "leastconn+slots", "leastconn", LAB_TOLD_BEFORE },
        { LAB_HAPROXY, LAB_ORACLE, "leastconn+told", "leastconn", LAB_TOLD_TRUE },
        { LAB_HAPROXY, LAB_LEARNED, "companion", "companion", LAB_TOLD_NOTHING },
        { LAB_HAPROXY, LAB_LEARNED_WEIGHTED, "companion+slots", "companion", LAB_TOLD_BEFORE },
    };
    int32_t i, base = -1;

    for (i = 0; i < EX_COUNT(those); i++) {
        lab_policy *p;
        if (!(l->hosts >> those[i].host & 1)) continue;
        p = policy_add(l, those[i].host, those[i].role, those[i].name, those[i].policy, those[i].told);
        if (p->role == LAB_BASE) base = l->policies - 1;
        if (p->role == LAB_AGAIN) p->again = base;
    }
}

/* ---- scenes ------------------------------------------------------------------------------------------------------ */

static lab_scene *scene_new(lab *l, lab_part part, lab_host host, const char *world, const char *title)
{
    static const char *const before_key[LAB_HOSTS] = { "", "nginx_", "haproxy_" };
    static const char *const before_title[LAB_HOSTS] = { "", "nginx: ", "HAProxy: " };
    lab_scene *s = &l->scene[l->scenes++];

    memset(s, 0, sizeof *s);
    s->part = part;
    s->host = host;
    s->world = world;
    snprintf(s->key, sizeof s->key, "%s%s", before_key[host], world);
    snprintf(s->title, sizeof s->title, "%s%s", before_title[host], title);
    s->proxies = 1;
    s->retries = -1;
    s->wanted = (parts >> part & 1) != 0;
    if (!s->wanted) snprintf(s->skipped, sizeof s->skipped, "not asked for");
    return s;
}

static lab_scene *scene_add(lab *l, lab_part part, const char *key, const char *title)
{
    lab_scene *s = scene_new(l, part, LAB_PROXY, key, title);
    int32_t i;

    for (i = 0; i < l->policies; i++) {
        bool oracle = l->policy[i].told == LAB_TOLD_TRUE;
        if (l->policy[i].host != LAB_PROXY) continue;
        if (oracle ? part == LAB_DEGRADED : !l->policy[i].apache || part == LAB_APACHE) s->policies |= (uint64_t)1 << i;
    }
    return s;
}

static lab_server *server_add(lab_scene *s, int32_t slots, double speed)
{
    lab_server *v = &s->server[s->servers++];

    v->slots = slots;
    v->speed = speed;
    v->before = slots;
    v->truly = slots * speed;
    return v;
}

static void add_three(lab *l)
{
    static const struct {
        const char *key, *title;
        double block_ms;
        bool closed;
    } kinds[] = {
        { "three_closed", "Three servers as described, a client that waits", 0, true },
        { "three_open", "Three servers as described, open arrivals", 0, false },
        { "slot_closed", "Three servers as measured, a client that waits", 100, true },
        { "slot_open", "Three servers as measured, open arrivals", 100, false },
    };
    static const double delays[] = { 50, 75, 100 };
    int32_t i, k;

    for (i = 0; i < EX_COUNT(kinds); i++) {
        lab_scene *s = scene_add(l, LAB_THREE, kinds[i].key, kinds[i].title);
        for (k = 0; k < EX_COUNT(delays); k++) {
            lab_server *v = server_add(s, kinds[i].block_ms > 0 ? 1 : 64, 1);
            v->block_ms = kinds[i].block_ms;
            v->delay_ms = delays[k];
            v->before = v->truly = 100 / (v->block_ms + v->delay_ms);
        }
        s->rate = rate;
        s->closed = kinds[i].closed;
        s->learn = learn;
        s->requests = requests;
    }
}

static void make_farm(lab_scene *s, double rate_per_s, double learn_s, double total_s, double slow)
{
    int32_t i;

    for (i = 0; i < 7; i++) server_add(s, i < 4 ? 2 : 4, i == 0 || i == 4 ? slow : 1);
    s->work_ms = 25;
    s->exponential = true;
    s->rate = rate_per_s;
    s->learn_s = learn_s;
    s->total_s = total_s;
}

/* In the short form without those that take long: requests that time out hold up the end. */
static void leave_out(const lab *l, lab_scene *s, const char *const *names)
{
    int32_t i, p;

    for (i = 0; names[i] && l->quick; i++) {
        p = lab_find(l, names[i]);
        if (p >= 0) s->policies &= ~((uint64_t)1 << p);
    }
}

static void add_farm(lab *l)
{
    static const struct {
        const char *key, *title;
        double rate;
    } loads[] = {
        { "farm_520", "Farm, 520/s (load 0.65)", 520 },
        { "farm_640", "Farm, 640/s (load 0.80)", 640 },
        { "farm_720", "Farm, 720/s (load 0.90)", 720 },
    };
    static const char *const dear[] = { "q_learning", NULL };
    double total_s = seconds > 0 ? seconds : l->quick ? 6 : 20;
    int32_t i;

    for (i = 0; i < EX_COUNT(loads); i++) {
        if (l->quick && i != 1) continue;
        make_farm(scene_add(l, LAB_FARM, loads[i].key, loads[i].title), loads[i].rate, total_s / 4, total_s, 1);
        leave_out(l, &l->scene[l->scenes - 1], dear);
    }
}

static void add_degraded(lab *l)
{
    double total_s = seconds > 0 ? seconds : l->quick ? 11 : 60, learn_s = floor(total_s / 3);
    static const char *const dear[] = { "round_robin", "q_learning", NULL };
    lab_scene *two;

    make_farm(scene_add(l, LAB_DEGRADED, "degraded_1", "Degraded farm, one proxy"), 520, learn_s, total_s, 0.3);
    leave_out(l, &l->scene[l->scenes - 1], dear);
    if (l->quick) return;
    two = scene_add(l, LAB_DEGRADED, "degraded_2", "Degraded farm, two proxies");
    make_farm(two, 520, learn_s, total_s, 0.3);
    two->proxies = 2;
}

static void fault_add(lab_scene *s, double at_s, int32_t server, const char *kind, double value)
{
    lab_fault *f = &s->fault[s->faults++];

    f->at_s = at_s;
    f->server = server;
    f->kind = kind;
    f->value = value;
}

/* The server is a large one, the first of them: a fifth of what there is. At 520 requests a second it is not needed for
   more than a sixth: least connections never gives it a fifth; at 640 it is. */
static void fault_scene(lab *l, const char *key, const char *title, double rate_per_s, const char *kind)
{
    static const char *const dear[] = { "round_robin", "q_learning", "sed+told", "lsq again", NULL };
    double total_s = seconds > 0 ? seconds : l->quick ? 20 : 50;
    lab_scene *s = scene_add(l, LAB_FAULT, key, title);

    make_farm(s, rate_per_s, floor(0.1 * total_s), total_s, 1);
    fault_add(s, floor(0.25 * total_s), 4, kind, 0.3);
    fault_add(s, floor(0.5 * total_s), 4, "none", 0);
    if (strcmp(kind, "fail") == 0) s->retries = 0;
    leave_out(l, s, dear);
}

static void add_faults(lab *l)
{
    fault_scene(l, "heal", "Farm, 520/s, a server slows down and heals", 520, "slow");
    if (!l->quick) fault_scene(l, "heal_640", "Farm, 640/s, a server slows down and heals", 640, "slow");
    fault_scene(l, "fail", "Farm, 520/s, a server fails and heals", 520, "fail");
}

/* What can be done is known only once the servers are there: lab_apache_start sets the rest. */
static void add_apache(lab *l)
{
    lab_scene *s = scene_add(l, LAB_APACHE, "apache", "Apache and PHP under CPU quotas");
    static const char *const dear[] = { "sed", "lsq again", NULL };
    double total_s = seconds > 0 ? seconds : l->quick ? 3 : 20;
    int32_t p = lab_find(l, "awcmp");

    if (p >= 0) s->policies |= (uint64_t)1 << p;
    leave_out(l, s, dear);
    s->learn_s = total_s / 4;
    s->total_s = total_s;
}

/* ---- scenes of other hosts --------------------------------------------------------------------------------------- */

#define ROLE(name) (1U << LAB_##name)

typedef struct world {
    const char *key, *title;
    lab_part part;
    double rate, seconds, quick_s, learn; /* learn: share of the seconds; quick_s 0: not in the short form */
    uint32_t roles, quick_roles;
} world;

/* In the farm the slots are the right weights; what is told nothing must find them. */
static const world worlds[] = {
    { "farm_640", "Farm, 640/s (load 0.80)", LAB_FARM, 640, 60, 6, 1.0 / 3,
      ROLE(BASE) | ROLE(WEIGHTED) | ROLE(LEARNED) | ROLE(LEARNED_WEIGHTED), ROLE(WEIGHTED) | ROLE(LEARNED_WEIGHTED) },
    { "degraded_1", "Degraded farm, one balancer", LAB_DEGRADED, 520, 60, 11, 1.0 / 3,
      ROLE(BASE) | ROLE(WEIGHTED) | ROLE(ORACLE) | ROLE(LEARNED) | ROLE(AGAIN),
      ROLE(BASE) | ROLE(ORACLE) | ROLE(LEARNED) },
    { "degraded_2", "Degraded farm, two balancers", LAB_DEGRADED, 520, 60, 11, 1.0 / 3,
      ROLE(BASE) | ROLE(WEIGHTED) | ROLE(ORACLE) | ROLE(LEARNED) | ROLE(AGAIN), ROLE(LEARNED) },
    { "heal", "Farm, 520/s, a server slows down and heals", LAB_FAULT, 520, 50, 20, 0.1,
      ROLE(BASE) | ROLE(WEIGHTED) | ROLE(LEARNED), ROLE(BASE) | ROLE(LEARNED) },
    { "heal_640", "Farm, 640/s, a server slows down and heals", LAB_FAULT, 640, 50, 0, 0.1,
      ROLE(BASE) | ROLE(WEIGHTED) | ROLE(LEARNED), 0 },
    { "fail", "Farm, 520/s, a server fails and heals", LAB_FAULT, 520, 50, 20, 0.1,
      ROLE(BASE) | ROLE(WEIGHTED) | ROLE(LEARNED), ROLE(BASE) | ROLE(LEARNED) },
    { "equal", "Five identical servers, 260/s (load 0.65)", LAB_EQUAL, 260, 600, 10, 0.1, ROLE(BASE) | ROLE(LEARNED),
      ROLE(BASE) | ROLE(LEARNED) },
    { "lost", "Reloads, restarts, kills under 300/s", LAB_LOSS, 300, 15, 10, 0, ROLE(BASE) | ROLE(LEARNED),
      ROLE(BASE) | ROLE(LEARNED) },
    { "cost", "Processor time", LAB_COST, LAB_PER_S, 6, 2.5, 1.0 / 6,
      ROLE(BASE) | ROLE(PLAIN) | ROLE(LEARNED) | ROLE(AGAIN), ROLE(BASE) | ROLE(PLAIN) | ROLE(LEARNED) },
};

/* A server that begins to err, as in fault_scene; evenly spread deeds. */
static void add_happenings(lab_scene *s)
{
    static const lab_deed deeds[LAB_HOSTS][LAB_EVENTS] = {
        [LAB_NGINX] = { LAB_RELOAD, LAB_KILL_WORKER, LAB_KILL_BACKEND, LAB_DEEDS },
        [LAB_HAPROXY] = { LAB_RELOAD, LAB_RESTART, LAB_KILL_COMPANION, LAB_KILL_BACKEND },
    };

    if (s->part == LAB_FAULT) {
        fault_add(s, floor(0.25 * s->total_s), 4, strcmp(s->world, "fail") == 0 ? "fail" : "slow", 0.3);
        fault_add(s, floor(0.5 * s->total_s), 4, "none", 0);
    }
    while (s->part == LAB_LOSS && s->events < LAB_EVENTS && deeds[s->host][s->events] != LAB_DEEDS) {
        s->event[s->events].deed = deeds[s->host][s->events];
        s->event[s->events].at_s = s->total_s * (s->events + 1) / (LAB_EVENTS + 1);
        s->events++;
    }
}

static void add_world(lab *l, lab_host host, const world *w)
{
    double total_s = seconds > 0 ? seconds : l->quick ? w->quick_s : w->seconds;
    double learn_s = w->part == LAB_COST ? floor(10 * total_s * w->learn) / 10 : floor(total_s * w->learn);
    lab_scene *s = scene_new(l, w->part, host, w->key, w->title);
    uint32_t roles = l->quick ? w->quick_roles : w->roles;
    int32_t i;

    make_farm(s, w->rate, learn_s, total_s, w->part == LAB_DEGRADED ? 0.3 : 1);
    if (w->part >= LAB_EQUAL) {
        s->servers = 0;
        for (i = 0; i < 5; i++) server_add(s, w->part == LAB_EQUAL ? 2 : w->part == LAB_LOSS ? 4 : 1000, 1);
    }
    if (w->part == LAB_COST) s->work_ms = 0;
    /* The module is in the way of each request, the companion is beside it. */
    if (w->part == LAB_COST && host == LAB_NGINX) s->clients = 32;
    if (strcmp(w->key, "degraded_2") == 0) s->proxies = 2;
    add_happenings(s);
    for (i = 0; i < l->policies; i++) {
        const lab_policy *p = &l->policy[i];
        if (p->host == host && (roles >> p->role & 1)) s->policies |= (uint64_t)1 << i;
    }
}

/* World by world, so that what meets one host meets the other. */
static void add_hosts(lab *l)
{
    char why[200];
    int32_t i, host;

    for (i = 0; i < EX_COUNT(worlds); i++) {
        for (host = LAB_NGINX; host < LAB_HOSTS; host++) {
            if (!(l->hosts >> host & 1) || (l->quick && worlds[i].quick_s <= 0)) continue;
            add_world(l, (lab_host)host, &worlds[i]);
        }
    }
    for (host = LAB_NGINX; host < LAB_HOSTS; host++) {
        if (!(l->hosts >> host & 1) || lab_host_there(l, (lab_host)host, why, sizeof why)) continue;
        if (!l->quiet) fprintf(stderr, "%s: skipped: %s\n", lab_host_names[host], why);
        for (i = 0; i < l->scenes; i++) {
            lab_scene *s = &l->scene[i];
            if (s->host != (lab_host)host) continue;
            s->wanted = false;
            snprintf(s->skipped, sizeof s->skipped, "%s", why);
        }
    }
}

static void make_scenes(lab *l)
{
    if (l->hosts >> LAB_PROXY & 1) {
        add_three(l);
        add_farm(l);
        add_degraded(l);
        add_faults(l);
        add_apache(l);
    }
    add_hosts(l);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

/* What hosts need lies in the folders around. */
static void find_files(lab *l)
{
    static ex_path module, companion, model;

    module = ex_path_join(l->bin, "../nginx/ngx_http_rllb_module.so");
    companion = ex_path_join(l->bin, "../haproxy/companion");
    model = ex_path_join(l->bin, "../../models/rllb-balancer.safetensors");
    if (!l->module) l->module = module.text;
    if (!l->companion) l->companion = companion.text;
    if (!l->model) l->model = model.text;
}

/* The other programs lie beside this one. */
static bool find_programs(lab *l, const char *self)
{
    static const char *const names[] = { "backend", "load", "proxy" };
    int32_t count = EX_COUNT(names) - !(l->hosts >> LAB_PROXY & 1);
    static char folder[1024];
    const char *slash = strrchr(self, '/');
    int32_t i;

    if (!l->bin) {
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - self) : 1, slash ? self : ".");
        l->bin = folder;
    }
    find_files(l);
    for (i = 0; i < count; i++) {
        ex_path p = ex_path_join(l->bin, names[i]);
        if (access(p.text, X_OK) != 0) {
            return ex_fail("%s: %s; make build/http/%s, or say --bin", p.text, strerror(errno), names[i]) == EX_OK;
        }
    }
    return true;
}

static void settle(lab *l)
{
    if (!l->quick) return;
    if (!ex_option_given(&program, "repeats")) l->repeats = 1;
    if (!ex_option_given(&program, "requests")) requests = 60;
    if (!ex_option_given(&program, "learn")) learn = 60;
    if (!ex_option_given(&program, "jobs")) l->jobs = l->hosts >> LAB_PROXY & 1 ? 7 : 8;
}

static int work(lab *l)
{
    int32_t part, s;
    int status = EX_GO_ON;

    for (part = 0; part < LAB_PARTS && status == EX_GO_ON; part++) {
        bool wanted = false;
        for (s = 0; s < l->scenes; s++) {
            lab_scene *x = &l->scene[s];
            if (x->part != (lab_part)part || !x->wanted) continue;
            if (part == LAB_APACHE && !lab_apache_start(l, x)) {
                x->wanted = false;
                if (!l->quiet) fprintf(stderr, "%s: skipped: %s\n", x->key, x->skipped);
            }
            wanted = wanted || x->wanted;
        }
        if (wanted) status = lab_work(l, (lab_part)part);
        if (part == LAB_APACHE) lab_apache_stop();
    }
    return status;
}

/* What it will take, part by part. False: said why not. */
static bool print_plan(lab *l)
{
    double part_s[LAB_PARTS], all_s = 0;
    char text[32];
    int32_t i, shown = 0;

    for (i = 0; i < LAB_PARTS; i++) {
        part_s[i] = lab_work_s(l, (lab_part)i);
        if (!isfinite(part_s[i])) return false;
        all_s += part_s[i];
    }
    if (l->quiet) return true;
    printf("takes about %s:", ex_duration(all_s, text));
    for (i = 0; i < LAB_PARTS; i++) {
        if (part_s[i] > 0) printf("%s %s %s", shown++ ? "," : "", lab_part_names[i], ex_duration(part_s[i], text));
    }
    printf("%s\n", shown ? "" : " nothing is left to do");
    fflush(stdout);
    return true;
}

static int hold(lab *l)
{
    ex_lock lock;
    int status;

    if (!ex_folder_lock(l->out, &lock)) return EX_FAILED;
    ex_catch_interrupts();
    status = print_plan(l) ? work(l) : EX_FAILED;
    if (status == EX_GO_ON) status = lab_read(l) && lab_report(l) ? EX_OK : EX_FAILED;
    if (status == EX_OK && !l->quiet) lab_print(l);
    ex_folder_unlock(&lock);
    return status;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);

    if (status != EX_GO_ON) return status;
    settle(&all);
    if (all.hosts >> LAB_PROXY & 1) {
        status = read_policies(&all);
        if (status != EX_GO_ON) return status;
    }
    add_host_policies(&all);
    if (!find_programs(&all, argv[0])) return EX_FAILED;
    make_scenes(&all);
    all.runs = calloc((size_t)(all.scenes * all.policies * all.repeats), sizeof *all.runs);
    if (!all.runs) return ex_fail("not enough memory");
    status = hold(&all);
    lab_free(&all);
    return status;
}
