/* experiment.c - the learning HTTP balancer against others, for real: backends, proxies and load over loopback

   Every policy meets the same arrivals and demands, repeat by repeat, in turns, with processes of its own:

   three     the published servers of 50, 75 and 100 ms: as they are described, answers that only take time, and as they
             were measured, where a look at the CPU holds up the whole server for 100 ms at every request; a client that
             waits, and open arrivals
   farm      4 servers of 2 slots and 3 of 4, exponential demands of 25 ms, three loads
   degraded  the same, two servers at 0.3 of their speed without notice, behind one proxy and behind two
   faults    a server that slows down and heals; one that fails whatever it gets
   apache    Apache with PHP that computes, under CPU quotas; only where this may make cgroups

   It starts what it needs on ports that the kernel chooses, and all of that ends with it, however it ends.

   Build:   make build/http/experiment build/http/backend build/http/load build/http/proxy
   Run:     build/http/experiment [--quick]      (make http-experiment: quick; make http-experiment FULL=1)
   Prints:  a table for every scene, and which goals were reached
   Writes:  results.json, comparison_results.json, request_logs.csv, summary_report.md, runs/ with a log for every run,
            latency_over_time.png throughput_comparison.png server_utilization.png learning_curve.png
            latency_distribution.png comparison_summary.png healing.png */

#include "experiment.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const lab_part_names[] = { "three", "farm", "degraded", "faults", "apache", NULL };

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static const char *policies_text = "round_robin,lsq,sed,q_learning,learned";
static uint32_t parts = (1U << LAB_PARTS) - 1;
static int32_t requests = 1000, learn = 1000;
static double seconds, rate = 10;
static ex_program program;

static lab all = { .program = &program, .out = "out/http", .seed = 1, .repeats = 5 };

static ex_option options[] = {
    EX_HEADING("What is run"),
    EX_CHOICES("parts", &parts, lab_part_names, "some of three,farm,degraded,faults,apache"),
    EX_STRING("policies", &policies_text, "P,P,...", "those of the proxy, by name"),
    EX_INT("repeats", &all.repeats, 1, LAB_REPEATS, "N", "runs of every cell, each with a seed of its own"),
    EX_SEED("seed", &all.seed, "of the first repeat"),
    EX_INT("requests", &requests, 10, 1000000, "N", "three: requests that are judged"),
    EX_INT("learn", &learn, 0, 1000000, "N", "three: requests before those, for learning"),
    EX_DOUBLE("rate", &rate, 0.1, 10000, "R", "three: requests per second"),
    EX_DOUBLE("seconds", &seconds, 2, 3600, "S", "Farm, degraded, faults, apache: of a run; default: 20, 60, 50, 20"),
    EX_FLAG("quick", &all.quick, "short runs and one repeat, under two minutes: shows that it works, proves nothing"),
    EX_HEADING("How"),
    EX_INT("jobs", &all.jobs, 1, 64, "N",
           "cells at a time, twenty times as many of three; default: all policies of a scene, so that what the "
           "machine does meets them alike"),
    EX_STRING("bin", &all.bin, "DIR", "where backend, load and proxy are; default: beside this program"),
    EX_FLAG("resume", &all.resume, "keep the runs that --out holds already, made with these same options"),
    EX_STRING("out", &all.out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &all.quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "experiment",
    .summary = "a learning HTTP balancer against others, over loopback",
    .details = "Weights: all policies but learned and q_learning are told what the servers can do by what they are\n"
               "sold as; sed+told, in degraded, what they can do in truth. \"lsq again\" is lsq a second time, with\n"
               "the same requests: how far it is from lsq is the noise of the machine.\n",
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
        if (strcmp(l->policy[i].name, policy) == 0) return i;
    }
    return -1;
}

int32_t lab_find_scene(const lab *l, const char *key)
{
    int32_t i;

    for (i = 0; i < l->scenes; i++) {
        if (l->scene[i].wanted && strcmp(l->scene[i].key, key) == 0) return i;
    }
    return -1;
}

double lab_weight(const lab_scene *s, int32_t server, lab_told told)
{
    if (told == LAB_TOLD_NOTHING) return 1;
    return told == LAB_TOLD_TRUE ? s->server[server].truly : s->server[server].before;
}

ex_path lab_log(const lab *l, int32_t scene, int32_t policy, int32_t repeat)
{
    ex_path folder = ex_path_join(ex_path_join(l->out, "runs").text, l->scene[scene].key);
    char name[80], *c;

    snprintf(name, sizeof name, "%s-%d.csv", l->policy[policy].name, (int)repeat + 1);
    for (c = name; *c; c++) {
        if (*c == ' ') *c = '_';
    }
    return ex_path_join(folder.text, name);
}

static lab_policy *policy_add(lab *l, const char *name, const char *policy, lab_told told)
{
    lab_policy *p = &l->policy[l->policies++];

    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->policy, sizeof p->policy, "%s", policy);
    p->told = told;
    p->again = -1;
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
        if (l->policies >= LAB_POLICIES - 3) return ex_usage("policies", "at most %d", LAB_POLICIES - 3);
        learns = strcmp(name, "learned") == 0 || strcmp(name, "q_learning") == 0;
        policy_add(l, name, name, learns ? LAB_TOLD_NOTHING : LAB_TOLD_BEFORE);
        if (at[size] == '\0') break;
        at += size + 1;
    }
    if (lab_find(l, "awcmp") < 0) policy_add(l, "awcmp", "awcmp", LAB_TOLD_BEFORE)->apache = true;
    if (lab_find(l, "sed") >= 0) policy_add(l, "sed+told", "sed", LAB_TOLD_TRUE);
    if (lab_find(l, "lsq") >= 0) {
        lab_policy *p = policy_add(l, "lsq again", "lsq", LAB_TOLD_BEFORE);
        p->again = lab_find(l, "lsq");
    }
    return EX_GO_ON;
}

/* ---- scenes ------------------------------------------------------------------------------------------------------ */

static lab_scene *scene_add(lab *l, lab_part part, const char *key, const char *title)
{
    lab_scene *s = &l->scene[l->scenes++];
    int32_t i;

    memset(s, 0, sizeof *s);
    s->part = part;
    s->key = key;
    s->title = title;
    s->proxies = 1;
    s->retries = -1;
    s->wanted = (parts >> part & 1) != 0;
    if (!s->wanted) snprintf(s->skipped, sizeof s->skipped, "not asked for");
    for (i = 0; i < l->policies; i++) {
        bool oracle = l->policy[i].told == LAB_TOLD_TRUE;
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

static void make_scenes(lab *l)
{
    add_three(l);
    add_farm(l);
    add_degraded(l);
    add_faults(l);
    add_apache(l);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

/* The other programs lie beside this one. */
static bool find_programs(lab *l, const char *self)
{
    static const char *const names[] = { "backend", "load", "proxy" };
    static char folder[1024];
    const char *slash = strrchr(self, '/');
    int32_t i;

    if (!l->bin) {
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - self) : 1, slash ? self : ".");
        l->bin = folder;
    }
    for (i = 0; i < EX_COUNT(names); i++) {
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
    if (!ex_option_given(&program, "jobs")) l->jobs = 7;
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

static int hold(lab *l)
{
    ex_lock lock;
    int status;

    if (!ex_folder_lock(l->out, &lock)) return EX_FAILED;
    ex_catch_interrupts();
    status = work(l);
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
    status = read_policies(&all);
    if (status != EX_GO_ON) return status;
    if (!find_programs(&all, argv[0])) return EX_FAILED;
    make_scenes(&all);
    all.runs = calloc((size_t)(all.scenes * all.policies * all.repeats), sizeof *all.runs);
    if (!all.runs) return ex_fail("not enough memory");
    status = hold(&all);
    lab_free(&all);
    return status;
}
