/* lab.c - the UDP allocator for real: a database, agents, three clients, traffic, and a client that gets busy

   The hosts of the published setting, 192.168.56.4 (server) to .7 (clients), each in a network namespace of its own;
   InfluxDB on the server, an agent on each client, datagrams from outside through the allocator. Clients compute for
   every datagram, under a CPU quota. A third into a run, processes that only compute start on one of them, which slows
   it down and shows in its metrics; after two thirds they end. How fast does traffic leave, how fast does it return,
   and what becomes of delays? Every policy meets the same datagrams, in turns.

   Build:   make build/udp/lab build/udp/allocator build/udp/agent build/udp/traffic build/udp_train
   Run:     build/udp/lab [--quick]      (make udp-lab: quick; make udp-lab FULL=1)
   Prints:  a table of the policies
   Writes:  report.md, results.json, metrics.png, shares.png, delays.png; model/ if it trains one

   Without root: one host, loopback ports, no quotas; the report says so. It touches nothing that it did not make, and
   all of it ends with it, however it ends: see lab_stage.c. */

#include "lab_parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../rllb.h"

enum { PORT = 5005, DATABASE_PORT = 8086, PORT_TRIES = 5 };
#define TURN_S 0.05
#define METRICS_S 0.1 /* the files that agents read are so old at most */
#define READY_S 60.0
#define MEMORY_AT_REST 0.4 /* of what a client has: as in the world to learn in */
static const double share_of_cpu[UL_CLIENTS] = { 2.0 / 9, 3.0 / 9, 4.0 / 9 }; /* cores of the world to learn in */
static const int32_t cores[UL_CLIENTS] = { 2, 3, 4 };
static const double share_of_network[UL_CLIENTS] = { 100.0 / 225, 75.0 / 225, 50.0 / 225 };
/* A datagram of 80 bytes with its headers: so the same share of all bandwidth that they need of processors. Nothing
   holds clients to it but what they report. */
#define FRAME_BYTES (80.0 + 42)

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static const char *policies_text = "model,awcmp,sed,round_robin";
static double seconds;
static int32_t episodes, loaded_number = 1;
static ex_program program;

static ul_lab all = { .program = &program, .out = "out/udp_lab", .seed = 1, .repeats = 3, .burners = 2, .senders = 8,
                      .rate = 300, .load = 0.35, .cpus = 0.6, .interval_s = 1, .poll_s = 0.25, .life_s = 2,
                      .memory = 6.5e6 };

static ex_option options[] = {
    EX_HEADING("What is run"),
    EX_STRING("policies", &policies_text, "P,P,...", "model, or any that the allocator knows"),
    EX_INT("repeats", &all.repeats, 1, UL_REPEATS, "N", "runs of every policy, each with a seed of its own"),
    EX_DOUBLE("seconds", &seconds, 3, 1000, "S", "of a run; the load comes in its second third. Default 60, quick 11"),
    EX_STRING("model", &all.model, "FILE", "for policy model; default: trained first (udp_train --world honest), into "
              "--out, and used again when it is there"),
    EX_INT("episodes", &episodes, 1, 1000000, "N", "of that training; default: as udp_train has it, quick 300"),
    EX_SEED("seed", &all.seed, "of the first repeat, and of the training"),
    EX_FLAG("quick", &all.quick, "short runs and one repeat, under a minute: shows that it works, proves nothing"),
    EX_HEADING("The setting"),
    EX_DOUBLE("rate", &all.rate, 10, 20000, "N", "datagrams a second"),
    EX_DOUBLE("cpus", &all.cpus, 0.05, 64, "X", "processors that all clients have together, as 2 : 3 : 4"),
    EX_DOUBLE("load", &all.load, 0.01, 0.95, "X", "share of that which the datagrams need"),
    EX_INT("loaded", &loaded_number, 1, UL_CLIENTS, "K", "the client that gets busy"),
    EX_INT("burners", &all.burners, 1, 32, "N", "processes that make it so"),
    EX_INT("senders", &all.senders, 1, 1000, "N", "who send at once"),
    EX_DOUBLE("life", &all.life_s, 0, 1000, "S", "a sender is another flow after that"),
    EX_DOUBLE("interval", &all.interval_s, 0.25, 10, "S", "between two samples of an agent; quick 0.5"),
    EX_DOUBLE("poll", &all.poll_s, 0.25, 10, "S", "between two questions of the allocator"),
    EX_FLAG("loopback", &all.loopback, "no namespaces, even if they can be had"),
    EX_HEADING("How"),
    EX_STRING("bin", &all.bin, "DIR", "where allocator, agent and traffic are; default: beside this program"),
    EX_STRING("database", &all.database, "PROGRAM", "InfluxDB 1.x; default: influxd"),
    EX_STRING("out", &all.out, "DIR", "folder for the results"),
    EX_FLAG("quiet", &all.quiet, "no progress, no tables"),
};

static ex_program program = {
    .name = "lab",
    .summary = "the UDP allocator with a real database, agents and clients, one of which gets busy",
    .details = "Left: the loaded client has less than half the share of traffic that it had before, for a while.\n"
               "Back: more than that again. Both are looked for in steps of half a second.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

static void nap(double s)
{
    struct timespec t = { (time_t)s, (long)((s - floor(s)) * 1e9) };
    nanosleep(&t, NULL);
}

/* ---- what runs --------------------------------------------------------------------------------------------------- */

enum { BURNERS_MOST = 32 };

static struct {
    ul_process database, agent[UL_CLIENTS], sink[UL_CLIENTS], allocator, generator, burner[BURNERS_MOST];
    bool burning;
    int32_t port, client_port[UL_CLIENTS], database_port;
    double metrics_s, begin_s, shown_s; /* when they were last written; when traffic began */
    double cpu_s[UL_CLIENTS];           /* at the last point of the picture */
    ex_progress bar;
    int32_t runs;
} on;

static void burn(void)
{
    volatile uint32_t x = 1;
    for (;;) x = x * 1664525U + 1013904223U;
}

static bool burning(const ul_lab *l, bool wanted)
{
    int32_t i;

    if (wanted == on.burning) return true;
    on.burning = wanted;
    for (i = 0; i < l->burners; i++) {
        if (!wanted) ul_kill(&on.burner[i]);
        else if (!ul_start_function(&on.burner[i], "burner", l->loaded, burn)) return false;
    }
    return true;
}

/* What agents read, made anew a few times between two of their samples. */
static bool metrics_write(const ul_lab *l)
{
    double now_s = ex_clock_s();
    int32_t k;

    if (now_s < on.metrics_s + METRICS_S) return true;
    on.metrics_s = now_s;
    for (k = 0; k < UL_CLIENTS; k++) {
        ul_use use;
        ul_client_use(k, &use);
        if (!ul_proc_write(k, &use, l->memory)) {
            return ex_fail("%s: %s", ul_proc_folder(k), strerror(errno)) == EX_OK;
        }
    }
    return true;
}

/* Ended though nobody asked it to? Its last words, then. */
static bool lives(ul_process *p)
{
    char words[UL_WHY];

    if (!ul_over(p)) return true;
    ul_last_words(p, words);
    return ex_fail("%s", words) == EX_OK;
}

/* A line that begins so; what the process says before it is passed over. */
static bool await(const ul_lab *l, ul_process *p, const char *words)
{
    double until_s = ex_clock_s() + READY_S;

    while (ex_clock_s() < until_s && !ex_interrupted()) {
        bool ended = ul_over(p);
        int32_t heard = ul_hear(p);
        if (heard > 0 && strncmp(p->line, words, strlen(words)) == 0) return true;
        if (heard > 0) continue;
        if (ended) return lives(p);
        if (!metrics_write(l)) return false;
        nap(0.005);
    }
    if (ex_interrupted()) return false;
    return ex_fail("%s: not ready after %g s", p->name, READY_S) == EX_OK;
}

static bool port_of(const ul_process *p, int32_t *out)
{
    const char *colon = strrchr(p->line, ':');
    int64_t port = 0;

    if (!colon || !ex_parse_int64(colon + 1, &port) || port < 1 || port > 65535) {
        return ex_fail("%s: no port in '%s'", p->name, p->line) == EX_OK;
    }
    *out = (int32_t)port;
    return true;
}

/* ---- the database ------------------------------------------------------------------------------------------------ */

static bool database_settings(char path[300])
{
    ex_text t = { 0 };
    const char *f = ul_stage_folder();
    int32_t other = ul_stage_spaces() ? 8088 : ul_free_port();
    bool ok;

    snprintf(path, 300, "%s/influxdb.conf", f);
    ex_text_printf(&t, "reporting-disabled = true\nbind-address = \"%s:%d\"\n", ul_address(UL_SERVER), (int)other);
    ex_text_printf(&t, "[meta]\n  dir = \"%s/meta\"\n[data]\n  dir = \"%s/data\"\n  wal-dir = \"%s/wal\"\n", f, f, f);
    ex_text_printf(&t, "  query-log-enabled = false\n[monitor]\n  store-enabled = false\n");
    ex_text_printf(&t, "[logging]\n  level = \"warn\"\n");
    ex_text_printf(&t, "[http]\n  bind-address = \"%s:%d\"\n  log-enabled = false\n", ul_address(UL_SERVER),
                   (int)on.database_port);
    ok = ex_text_write(&t, path);
    ex_text_free(&t);
    return ok;
}

/* The status of an answer; 0: none. */
static int32_t ask(const char *method, const char *target)
{
    char text[600];
    int fd = ul_connect(UL_OUTSIDE, UL_SERVER, on.database_port), status = 0;
    size_t used = 0;
    ssize_t got;

    if (fd < 0) return 0;
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: lab\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method,
             target);
    if (write(fd, text, strlen(text)) == (ssize_t)strlen(text)) {
        while (used < sizeof text - 1 && (got = read(fd, text + used, sizeof text - 1 - used)) > 0) used += (size_t)got;
        text[used] = '\0';
        if (sscanf(text, "HTTP/1.1 %d", &status) != 1) status = 0;
    }
    close(fd);
    return status;
}

static bool database_begins(const ul_lab *l)
{
    static ul_arguments a;
    char path[300];

    memset(&a, 0, sizeof a);
    on.database_port = ul_stage_spaces() ? DATABASE_PORT : ul_free_port();
    if (!database_settings(path)) return false;
    ul_add(&a, "%s", l->database);
    ul_add(&a, "run");
    ul_add(&a, "-config");
    ul_add(&a, "%s", path);
    return ul_start(&on.database, "influxd", UL_SERVER, -1, &a);
}

/* Until that is answered so; false: it has ended, or we do, or it takes too long, which is said in these words. */
static bool database_answers(const char *method, const char *target, int32_t status, const char *words)
{
    double until_s = ex_clock_s() + READY_S;

    while (ask(method, target) != status) {
        if (ul_over(&on.database) || ex_interrupted()) return false;
        if (ex_clock_s() > until_s) return ex_fail("influxd: %s after %g s", words, READY_S) == EX_OK;
        nap(0.05);
    }
    return true;
}

/* On loopback its ports were free a moment ago. If another has taken one meanwhile, it ends, and is given others. */
static bool start_database(const ul_lab *l)
{
    int32_t tries;

    for (tries = ul_stage_spaces() ? 1 : PORT_TRIES;; tries--) {
        if (!database_begins(l)) return false;
        if (database_answers("GET", "/ping", 204, "no answer")) break;
        if (tries == 1 || ex_interrupted() || !ul_over(&on.database)) {
            lives(&on.database);
            return false;
        }
        ul_kill(&on.database); /* what is left of it */
    }
    if (database_answers("POST", "/query?q=CREATE%20DATABASE%20telegraf", 200, "makes no database")) return true;
    lives(&on.database);
    return false;
}

/* ---- the others -------------------------------------------------------------------------------------------------- */

static bool start_agents(const ul_lab *l)
{
    static ul_arguments a;
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        memset(&a, 0, sizeof a);
        ul_add(&a, "%s/agent", l->bin);
        ul_add(&a, "--to=influx1:http://%s:%d/telegraf", ul_address(UL_SERVER), (int)on.database_port);
        ul_add(&a, "--host=client%d", (int)k + 1);
        ul_add(&a, "--proc=%s", ul_proc_folder(k));
        ul_add(&a, "--interface=eth0");
        ul_add(&a, "--interval=%g", l->interval_s);
        ul_add(&a, "--seed=%d", (int)k + 1);
        if (!ul_start(&on.agent[k], "agent", (ul_host)(UL_CLIENT_1 + k), -1, &a) ||
            !await(l, &on.agent[k], "ready")) {
            return false;
        }
    }
    return true;
}

static ex_path run_folder(const char *what, int32_t number)
{
    char name[40];

    snprintf(name, sizeof name, "%s%d", what, (int)number);
    return ex_path_join(ul_stage_folder(), name);
}

static bool start_sink(const ul_lab *l, int32_t k)
{
    static ul_arguments a;

    memset(&a, 0, sizeof a);
    ul_add(&a, "%s/traffic", l->bin);
    ul_add(&a, "--sink=%d", ul_stage_spaces() ? PORT : 0);
    ul_add(&a, "--host=%s", ul_address((ul_host)(UL_CLIENT_1 + k)));
    ul_add(&a, "--names=client%d", (int)k + 1);
    ul_add(&a, "--echo");
    ul_add(&a, "--work=%.6g", l->work_us);
    ul_add(&a, "--cpu");
    ul_add(&a, "--buffer=131072");
    ul_add(&a, "--watch=%g", UL_STEP_S);
    ul_add(&a, "--every=%g", UL_STEP_S);
    ul_add(&a, "--out=%s", run_folder("sink", k).text);
    ul_add(&a, "--quiet");
    return ul_start(&on.sink[k], "sink", (ul_host)(UL_CLIENT_1 + k), k, &a) && await(l, &on.sink[k], "client ") &&
           port_of(&on.sink[k], &on.client_port[k]) && await(l, &on.sink[k], "ready");
}

static bool write_capacity(const ul_lab *l, char path[300])
{
    ex_text t = { 0 };
    int32_t k;
    bool ok;

    snprintf(path, 300, "%s/capacity", ul_stage_folder());
    for (k = 0; k < UL_CLIENTS; k++) {
        ex_text_printf(&t, "client%d,%g,%.0f,%.0f\n", (int)k + 1, l->quota[k], l->memory,
                       share_of_network[k] * l->rate * FRAME_BYTES / l->load);
    }
    ok = ex_text_write(&t, path);
    ex_text_free(&t);
    return ok;
}

static void add_clients(ul_arguments *a)
{
    char text[400] = "";
    size_t at = 0;
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%sclient%d=%s:%d*%d", k ? "," : "", (int)k + 1,
                               ul_address((ul_host)(UL_CLIENT_1 + k)), (int)on.client_port[k], (int)cores[k]);
    }
    ul_add(a, "--clients=%s", text);
}

static bool start_allocator(const ul_lab *l, int32_t policy, int32_t repeat)
{
    static ul_arguments a;
    char capacity[300];
    bool model = strcmp(l->policy[policy], "model") == 0;

    if (!write_capacity(l, capacity)) return false;
    memset(&a, 0, sizeof a);
    ul_add(&a, "%s/allocator", l->bin);
    ul_add(&a, "--listen=%s:%d", ul_address(UL_SERVER), ul_stage_spaces() ? PORT : 0);
    add_clients(&a);
    ul_add(&a, "--policy=%s", l->policy[policy]);
    if (model) ul_add(&a, "--model=%s", l->model_path);
    ul_add(&a, "--source=influx1:http://%s:%d", ul_address(UL_SERVER), (int)on.database_port);
    ul_add(&a, "--database=telegraf");
    ul_add(&a, "--interval=%g", l->poll_s);
    ul_add(&a, "--capacity=%s", capacity);
    ul_add(&a, "--seed=%llu", (unsigned long long)(l->seed + (uint64_t)repeat));
    return ul_start(&on.allocator, "allocator", UL_SERVER, -1, &a) && await(l, &on.allocator, "listening on ") &&
           port_of(&on.allocator, &on.port);
}

static bool start_generator(const ul_lab *l, int32_t repeat)
{
    static ul_arguments a;

    memset(&a, 0, sizeof a);
    ul_add(&a, "%s/traffic", l->bin);
    ul_add(&a, "--to=%s:%d", ul_address(UL_SERVER), (int)on.port);
    ul_add(&a, "--rate=%.10g", l->rate);
    ul_add(&a, "--duration=%.10g", ul_total_s(l));
    ul_add(&a, "--senders=%d", (int)l->senders);
    ul_add(&a, "--life=%.10g", l->life_s);
    ul_add(&a, "--replies");
    ul_add(&a, "--every=%g", UL_STEP_S);
    ul_add(&a, "--seed=%llu", (unsigned long long)(l->seed + (uint64_t)repeat));
    ul_add(&a, "--out=%s", run_folder("sent", 0).text);
    ul_add(&a, "--quiet");
    on.begin_s = ex_clock_s();
    return ul_start(&on.generator, "generator", UL_OUTSIDE, -1, &a);
}

/* ---- one run: what is heard -------------------------------------------------------------------------------------- */

/* Lines of --watch: what its network has carried, where it has none of its own. */
static void hear_sink(int32_t k)
{
    ul_process *p = &on.sink[k];
    double in, sent;

    while (ul_hear(p) > 0) {
        if (sscanf(p->line, "%*s %*f %*f %lf %lf", &in, &sent) == 2) ul_client_counters(k, in, sent);
    }
}

/* Of its quota, since the last point. */
static void see_cpu(const ul_lab *l, ul_run *r)
{
    double now_s = ex_clock_s(), passed_s = now_s - on.shown_s;
    int32_t k;

    if (passed_s < UL_STEP_S || r->cpu_count == UL_BINS) return;
    for (k = 0; k < UL_CLIENTS; k++) {
        ul_use use;
        ul_client_use(k, &use);
        r->cpu[r->cpu_count].share[k] = fmax(0, use.cpu_s - on.cpu_s[k]) / passed_s / l->quota[k];
        on.cpu_s[k] = use.cpu_s;
    }
    r->cpu[r->cpu_count++].at_s = now_s - passed_s / 2 - on.begin_s;
    on.shown_s = now_s;
}

static bool all_live(void)
{
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        if (!lives(&on.sink[k]) || !lives(&on.agent[k])) return false;
    }
    return lives(&on.database) && lives(&on.allocator);
}

static bool watch(const ul_lab *l, int32_t policy, ul_run *r)
{
    double whole_s = ul_total_s(l), late_s = whole_s + READY_S;
    int32_t k;

    on.shown_s = on.begin_s;
    for (k = 0; k < UL_CLIENTS; k++) {
        ul_use use;
        ul_client_use(k, &use);
        on.cpu_s[k] = use.cpu_s;
    }
    while (!ul_over(&on.generator)) {
        double at_s = ex_clock_s() - on.begin_s;
        if (ex_interrupted()) return false;
        if (at_s > late_s) return ex_fail("the generator is not done after %.0f s", late_s) == EX_OK;
        if (!burning(l, at_s >= l->phase_s[0] && at_s < l->phase_s[0] + l->phase_s[1])) return false;
        if (!all_live() || !metrics_write(l)) return false;
        for (k = 0; k < UL_CLIENTS; k++) hear_sink(k);
        see_cpu(l, r);
        ex_progress_step(&on.bar, (int64_t)(10 * (on.runs * whole_s + fmin(at_s, whole_s))), "%s%s",
                         l->policy[policy], on.burning ? ", one client busy" : "");
        nap(TURN_S);
    }
    if (on.generator.status != 0) {
        char words[UL_WHY];
        ul_last_words(&on.generator, words);
        return ex_fail("%s", words) == EX_OK;
    }
    return burning(l, false);
}

/* ---- one run: what is read afterwards ---------------------------------------------------------------------------- */

/* A number of a results.json of ours, behind these names in this order. */
static bool number_in(const ex_text *t, const char *first, const char *second, double *out)
{
    const char *at = t->data ? strstr(t->data, first) : NULL;

    if (at) at = strstr(at, second);
    if (at) at = strchr(at, ':');
    return at && sscanf(at + 1, "%lf", out) == 1;
}

static bool read_generator(ul_run *r)
{
    ex_path path = ex_path_join(run_folder("sent", 0).text, "results.json");
    ex_text t = { 0 };
    bool ok;

    r->mean_ms = r->p50_ms = r->p99_ms = (double)NAN;
    if (!ex_file_read(path.text, 1 << 20, &t)) return false;
    ok = number_in(&t, "\"counts\"", "\"sent\"", &r->sent) && number_in(&t, "\"counts\"", "\"answered\"", &r->answered);
    number_in(&t, "\"answer_delay_ms\"", "\"mean\"", &r->mean_ms);
    number_in(&t, "\"answer_delay_ms\"", "\"p50\"", &r->p50_ms);
    number_in(&t, "\"answer_delay_ms\"", "\"p99\"", &r->p99_ms);
    ex_text_free(&t);
    return ok || ex_fail("%s: no counts in there", path.text) == EX_OK;
}

/* sent_at.csv: into bins since traffic began. */
static bool read_bins(const char *folder, ul_bin *bins)
{
    ex_path path = ex_path_join(folder, "sent_at.csv");
    ex_text t = { 0 };
    const char *line;

    if (!ex_file_read(path.text, 1 << 24, &t)) return false;
    for (line = t.data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        double at_s, count, mean;
        int32_t i;
        if (sscanf(line, "%lf,%*[^,],%lf,%lf", &at_s, &count, &mean) != 3) continue;
        i = (int32_t)floor((at_s - on.begin_s) / UL_STEP_S + 0.5);
        if (i < 0 || i >= UL_BINS) continue;
        bins[i].count = count;
        bins[i].mean_ms = mean;
    }
    ex_text_free(&t);
    return true;
}

static bool read_all_bins(ul_run *r)
{
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        if (!read_bins(run_folder("sink", k).text, r->client[k])) return false;
    }
    return read_bins(run_folder("sent", 0).text, r->answers);
}

/* What was lost between the generator and all clients, to the datagram. */
static bool read_losses(const ul_lab *l, ul_run *r)
{
    static ul_arguments a;
    ul_process p;

    memset(&a, 0, sizeof a);
    ul_add(&a, "%s/traffic", l->bin);
    ul_add(&a, "--merge=%s,%s,%s,%s", run_folder("sent", 0).text, run_folder("sink", 0).text,
           run_folder("sink", 1).text, run_folder("sink", 2).text);
    if (!ul_start(&p, "merge", UL_SERVER, -1, &a)) return false;
    if (!await(l, &p, "sent ")) {
        ul_kill(&p);
        return false;
    }
    ul_end(&p);
    return sscanf(p.line, "sent %*f received %*f lost %lf duplicates %lf reordered %lf damaged %lf", &r->lost,
                  &r->duplicates, &r->reordered, &r->damaged) == 4 ||
           ex_fail("traffic --merge says '%.80s'", p.line) == EX_OK;
}

static void end_run(void)
{
    int32_t k;

    ul_kill(&on.generator);
    ul_end(&on.allocator);
    for (k = 0; k < UL_CLIENTS; k++) ul_end(&on.sink[k]);
}

/* Declared once, by what clients take that have nothing to do. */
static void declare_memory(ul_lab *l)
{
    static bool declared;
    double sum = 0;
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        ul_use use;
        ul_client_use(k, &use);
        sum += use.memory;
    }
    if (!declared && sum > 0) l->memory = sum / UL_CLIENTS / MEMORY_AT_REST;
    declared = true;
}

static bool run(ul_lab *l, int32_t policy, int32_t repeat)
{
    ul_run *r = ul_run_of(l, policy, repeat);
    int32_t k;
    bool ok = true;

    for (k = 0; ok && k < UL_CLIENTS; k++) ok = start_sink(l, k);
    declare_memory(l);
    ok = ok && start_allocator(l, policy, repeat) && start_generator(l, repeat) && watch(l, policy, r);
    burning(l, false);
    end_run();
    ok = ok && read_generator(r) && read_all_bins(r) && read_losses(l, r);
    if (!ok) return false;
    ul_judge(l, r);
    r->done = true;
    on.runs++;
    return true;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static bool wants_model(const ul_lab *l)
{
    int32_t i;

    for (i = 0; i < l->policies; i++) {
        if (strcmp(l->policy[i], "model") == 0) return true;
    }
    return false;
}

static bool train(const ul_lab *l, const char *folder)
{
    static ul_arguments a;
    ul_process p;

    memset(&a, 0, sizeof a);
    ul_add(&a, "%s/../udp_train", l->bin);
    ul_add(&a, "--world=honest");
    ul_add(&a, "--interval=%g", l->interval_s);
    ul_add(&a, "--load=%g", l->load);
    if (episodes > 0) ul_add(&a, "--episodes=%d", (int)episodes);
    if (l->quick) ul_add(&a, "--judged=50");
    ul_add(&a, "--seed=%llu", (unsigned long long)l->seed);
    ul_add(&a, "--out=%s", folder);
    ul_add(&a, "--quiet");
    if (!l->quiet) fprintf(stderr, "training a model for policy model\n");
    if (!ul_start(&p, "udp_train", UL_SERVER, -1, &a)) return false;
    while (!ul_over(&p) && !ex_interrupted()) nap(0.05);
    if (ex_interrupted()) {
        ul_end(&p);
        return false;
    }
    if (p.status != 0) {
        char words[UL_WHY];
        ul_last_words(&p, words);
        return ex_fail("%s", words) == EX_OK;
    }
    ul_end(&p);
    return true;
}

static bool find_model(ul_lab *l)
{
    ex_path folder = ex_path_join(l->out, "model"), file = ex_path_join(folder.text, "model.safetensors");

    if (!wants_model(l)) return true;
    if (l->model) {
        snprintf(l->model_words, sizeof l->model_words, "the file given");
        snprintf(l->model_path, sizeof l->model_path, "%s", l->model);
        return access(l->model, R_OK) == 0 || ex_fail("%s: %s", l->model, strerror(errno)) == EX_OK;
    }
    if (episodes > 0) {
        snprintf(l->model_words, sizeof l->model_words,
                 "udp_train --world honest --seed %llu --interval %g --episodes %d", (unsigned long long)l->seed,
                 l->interval_s, (int)episodes);
    } else {
        snprintf(l->model_words, sizeof l->model_words, "udp_train --world honest --seed %llu --interval %g",
                 (unsigned long long)l->seed, l->interval_s);
    }
    snprintf(l->model_path, sizeof l->model_path, "%s", file.text);
    return access(file.text, R_OK) == 0 || train(l, folder.text);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int read_policies(ul_lab *l)
{
    const char *at = policies_text;

    while (at) {
        size_t size = strcspn(at, ",");
        if (size == 0 || size >= sizeof *l->policy) {
            return ex_usage("policies", "'%.80s' is not P,P,...", policies_text);
        }
        if (l->policies == UL_POLICIES) return ex_usage("policies", "at most %d", UL_POLICIES);
        snprintf(l->policy[l->policies], sizeof *l->policy, "%.*s", (int)size, at);
        if (strcmp(l->policy[l->policies], "model") != 0 && rllb_balance_of(l->policy[l->policies]) < 0) {
            return ex_usage("policies", "no '%s' here; there are model, %s", l->policy[l->policies],
                            rllb_balance_names());
        }
        l->policies++;
        at = at[size] ? at + size + 1 : NULL;
    }
    return EX_GO_ON;
}

static void settle(ul_lab *l)
{
    int32_t k;

    if (l->quick) {
        if (!ex_option_given(&program, "repeats")) l->repeats = 1;
        if (!ex_option_given(&program, "seconds")) seconds = 11;
        if (!ex_option_given(&program, "episodes")) episodes = 300;
        if (!ex_option_given(&program, "interval")) l->interval_s = 0.5;
        if (!ex_option_given(&program, "life")) l->life_s = 1;
    }
    if (!(seconds > 0)) seconds = 60;
    for (k = 0; k < 3; k++) l->phase_s[k] = seconds / 3;
    l->loaded = loaded_number - 1;
    l->work_us = l->load * l->cpus / l->rate * 1e6;
    for (k = 0; k < UL_CLIENTS; k++) l->quota[k] = l->cpus * share_of_cpu[k];
    if (!l->database) l->database = "influxd";
}

/* The other programs lie beside this one. */
static bool find_programs(ul_lab *l, const char *self)
{
    static const char *const names[] = { "allocator", "agent", "traffic" };
    static char folder[900];
    const char *slash = strrchr(self, '/');
    int32_t i;

    if (!l->bin) {
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - self) : 1, slash ? self : ".");
        l->bin = folder;
    }
    for (i = 0; i < EX_COUNT(names); i++) {
        ex_path p = ex_path_join(l->bin, names[i]);
        if (access(p.text, X_OK) != 0) {
            return ex_fail("%s: %s; make build/udp/%s, or say --bin", p.text, strerror(errno), names[i]) == EX_OK;
        }
    }
    return true;
}

/* Repeat by repeat, each beginning with another policy: what the machine does meanwhile meets all of them. */
static bool run_all(ul_lab *l)
{
    int32_t i, p;

    ex_progress_start(&on.bar, "udp lab", (int64_t)(10 * ul_total_s(l)) * l->policies * l->repeats, l->quiet);
    for (i = 0; i < l->repeats; i++) {
        for (p = 0; p < l->policies; p++) {
            if (!run(l, (p + i) % l->policies, i)) {
                ex_progress_end(&on.bar, NULL);
                return false;
            }
        }
    }
    ex_progress_end(&on.bar, NULL);
    return true;
}

static bool work(ul_lab *l)
{
    bool ok = ul_stage_open(l->loopback, l->quota);

    if (ok && !l->quiet && !ul_stage_spaces()) {
        fprintf(stderr, "on loopback ports, one host for all: %s\n", ul_stage_why());
    } else if (ok && !l->quiet && !ul_stage_quotas()) {
        fprintf(stderr, "without CPU quotas: %s\n", ul_stage_why());
    }
    ok = ok && find_model(l) && start_database(l) && metrics_write(l) && start_agents(l) && run_all(l);
    if (ok && l->runs) ok = ul_report(l);
    ul_stage_close();
    return ok;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);
    ex_lock lock;
    bool ok;

    if (status != EX_GO_ON) return status;
    status = read_policies(&all);
    if (status != EX_GO_ON) return status;
    settle(&all);
    if (!find_programs(&all, argv[0])) return EX_FAILED;
    all.runs = calloc((size_t)all.policies * (size_t)all.repeats, sizeof *all.runs);
    if (!all.runs) return ex_fail("not enough memory for %d runs", (int)(all.policies * all.repeats));
    ex_catch_interrupts();
    if (!ex_folder_lock(all.out, &lock)) {
        free(all.runs);
        return EX_FAILED;
    }
    ok = work(&all);
    ex_folder_unlock(&lock);
    free(all.runs);
    if (ex_interrupted()) {
        ex_fail("stopped after %d runs; nothing is written of them", (int)on.runs);
        return ex_interrupt_status();
    }
    return ok ? EX_OK : EX_FAILED;
}
