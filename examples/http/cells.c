/* cells.c - one run of the experiment: its processes are started, watched and stopped; see experiment.h

   Whatever ends a process ends those that it started: the kernel kills a child whose parent is gone (on Linux), the
   pool kills the cells after an interrupt, and a cell stops its own whether all went well or not. A program with
   workers has a guard between it and the cell: workers outlive a master that is killed, the guard ends them all. */

#define _GNU_SOURCE /* pipe2 */

#include "experiment.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MOST = 64, ARG_BYTES = 1100 };
#define START_S 20.0 /* a process may take that long to be ready */
#define STOP_S 5.0
#define LATE_S 60.0 /* after its traffic should have ended */
#define EARLY_S 0.5 /* before the end of the traffic its processor time is read */
#define STALL_S 0.02 /* a process that slept for 5 ms wakes up so much later: the machine was elsewhere */

/* ---- processes --------------------------------------------------------------------------------------------------- */

struct lab_arguments {
    char text[ARGS_MOST][ARG_BYTES];
    char *list[ARGS_MOST + 1];
    int32_t count;
    bool full;
};

typedef lab_arguments arguments;
typedef lab_process process;
typedef lab_cell cell;

enum { WHY_BYTES = 400 };

lab_arguments *lab_arguments_new(void)
{
    static arguments a;

    memset(&a, 0, sizeof a);
    return &a;
}

void lab_add(lab_arguments *a, const char *format, ...)
{
    va_list values;
    int wrote;

    if (a->count == ARGS_MOST) {
        a->full = true;
        return;
    }
    va_start(values, format);
    wrote = vsnprintf(a->text[a->count], ARG_BYTES, format, values);
    va_end(values);
    if (wrote < 0 || wrote >= ARG_BYTES) a->full = true;
    a->list[a->count] = a->text[a->count];
    a->list[++a->count] = NULL;
}

bool lab_no(lab_cell *c, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    if (!*c->why) vsnprintf(c->why, WHY_BYTES, format, values);
    va_end(values);
    return false;
}

static void nap(double seconds)
{
    struct timespec t;

    t.tv_sec = (time_t)seconds;
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

/* In the new process. One that comes late, to a parent that is gone, makes no file that nobody would remove. */
static void become(const process *p, const arguments *a, int to, pid_t parent)
{
    int said, nothing;

#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) _exit(126);
    said = open(p->said.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (said < 0 || nothing < 0) _exit(126);
    signal(SIGINT, SIG_DFL);
    dup2(nothing, STDIN_FILENO);
    dup2(to, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    execv(a->list[0], a->list);
    fprintf(stderr, "cannot be started: %s\n", strerror(errno));
    fflush(stderr);
    _exit(127);
}

/* In a new process: the program, in a group of its own with its workers, and when it ends or the cell does, the end of
   that group. Says its number first. */
static void guard(const process *p, const arguments *a, int to, pid_t parent)
{
    pid_t self, master;
    siginfo_t info;
    sigset_t set;
    int got = 0, status = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
    setpgid(0, 0);
    self = getpid();
    master = getppid() == parent ? fork() : -1;
    if (master == 0) {
        setpgid(0, 0);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        become(p, a, to, self);
    }
    if (master < 0 || dprintf(to, "%ld\n", (long)master) < 0) _exit(126);
    close(to);
    setpgid(master, master);
    for (;;) {
        if (sigwait(&set, &got) != 0) continue;
        if (got == SIGTERM && getppid() == parent) {
            kill(master, SIGTERM);
            alarm(3);
        } else if (got != SIGCHLD) {
            kill(-master, SIGKILL);
        }
        memset(&info, 0, sizeof info);
        if (waitid(P_PID, (id_t)master, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == master) break;
    }
    kill(-master, SIGKILL);
    waitpid(master, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static bool begin(cell *c, process *p, const arguments *a, bool workers)
{
    pid_t self = getpid();
    int64_t number = 0;
    int ends[2];

    if (a->full) return lab_no(c, "%s: more arguments than there is room for", p->name);
    if (pipe2(ends, O_CLOEXEC) != 0) return lab_no(c, "%s: no pipe: %s", p->name, strerror(errno));
    p->killed = false;
    p->pid = fork();
    if (p->pid == 0 && workers) guard(p, a, ends[1], self);
    if (p->pid == 0) become(p, a, ends[1], self);
    close(ends[1]);
    p->from = ends[0];
    if (p->pid < 0) {
        p->pid = 0;
        return lab_no(c, "%s: no process: %s", p->name, strerror(errno));
    }
    if (!workers) return true;
    if (!lab_hear(c, p)) return false;
    if (!ex_parse_int64(p->line, &number) || number < 2) return lab_no(c, "%s: '%s' is no process", p->name, p->line);
    p->master = (pid_t)number;
    return true;
}

lab_process *lab_start(lab_cell *c, const char *name, const lab_arguments *a, bool workers)
{
    process *p = &c->parts[c->count];
    ex_path log = lab_log(c->l, c->scene, c->policy, c->repeat);

    if (c->count == LAB_PROCESSES) {
        lab_no(c, "%s: more processes than there is room for", name);
        return NULL;
    }
    memset(p, 0, sizeof *p);
    p->from = -1;
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->said.text, sizeof p->said.text, "%.*s.%s-%d.said", (int)strlen(log.text) - 4, log.text, name,
             (int)c->count);
    c->count++;
    return begin(c, p, a, workers) ? p : NULL;
}

bool lab_start_again(lab_cell *c, lab_process *p, const lab_arguments *a)
{
    close(p->from);
    return begin(c, p, a, p->master > 0);
}

/* The last line that it had to say, for a complaint. */
static void last_words(const process *p, char out[240])
{
    FILE *f = fopen(p->said.text, "r");
    char line[240], *end;

    *out = '\0';
    while (f && fgets(line, sizeof line, f)) {
        end = strchr(line, '\n');
        if (end) *end = '\0';
        if (*line) memcpy(out, line, sizeof line);
    }
    if (f) fclose(f);
}

static bool ended_early(cell *c, process *p)
{
    char words[240];

    last_words(p, words);
    if (WIFSIGNALED(p->status)) {
        return lab_no(c, "%s was ended by signal %d%s%s", p->name, WTERMSIG(p->status), *words ? "; " : "", words);
    }
    return lab_no(c, "%s ended with status %d%s%s", p->name, WEXITSTATUS(p->status), *words ? "; " : "", words);
}

/* Has it ended? Then its status is there. */
static bool over(process *p)
{
    if (p->pid > 0 && waitpid(p->pid, &p->status, WNOHANG) == p->pid) p->pid = 0;
    return p->pid == 0;
}

/* The next line of its output into p->line. */
bool lab_hear(lab_cell *c, lab_process *p)
{
    double until_s = ex_clock_s() + START_S;

    p->used = 0;
    for (;;) {
        struct pollfd ready = { .fd = p->from, .events = POLLIN };
        double left_s = until_s - ex_clock_s();
        char letter;
        if (left_s <= 0 || getppid() != c->parent) return lab_no(c, "%s: not ready after %g s", p->name, START_S);
        if (poll(&ready, 1, 100) <= 0) continue;
        if (read(p->from, &letter, 1) != 1) {
            while (!over(p) && ex_clock_s() < until_s) nap(0.005);
            return p->pid == 0 ? ended_early(c, p) : lab_no(c, "%s closed its output", p->name);
        }
        if (letter == '\n') break;
        if (p->used < (int32_t)sizeof p->line - 1) p->line[p->used++] = letter;
    }
    p->line[p->used] = '\0';
    return true;
}

bool lab_port_of(lab_cell *c, const lab_process *p, int32_t *out)
{
    const char *colon = strrchr(p->line, ':');
    int64_t port = 0;

    if (!colon || !ex_parse_int64(colon + 1, &port) || port < 1 || port > 65535) {
        return lab_no(c, "%s: no port in '%s'", p->name, p->line);
    }
    *out = (int32_t)port;
    return true;
}

bool lab_listens(lab_cell *c, lab_process *p, int32_t port)
{
    double until_s = ex_clock_s() + START_S;
    struct sockaddr_in a;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (ex_clock_s() < until_s && getppid() == c->parent) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool there = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
        if (fd >= 0) close(fd);
        if (over(p)) return ended_early(c, p);
        if (there) return true;
        nap(0.01);
    }
    return lab_no(c, "%s: does not listen after %g s", p->name, START_S);
}

void lab_end(lab_process *p, int signal)
{
    p->killed = true;
    if (p->pid > 0) kill(p->pid, signal);
    while (!over(p)) nap(0.002);
}

/* Those that are still there are asked, then told. */
static void stop(cell *c)
{
    double until_s = ex_clock_s() + STOP_S;
    int32_t i, left = c->count;

    for (i = 0; i < c->count; i++) {
        if (c->parts[i].pid > 0) kill(c->parts[i].pid, SIGTERM);
    }
    while (left > 0) {
        left = 0;
        for (i = 0; i < c->count; i++) left += !over(&c->parts[i]);
        if (left > 0 && ex_clock_s() > until_s) {
            for (i = 0; i < c->count; i++) {
                if (c->parts[i].pid > 0) kill(c->parts[i].pid, SIGKILL);
            }
        }
        if (left > 0) nap(0.005);
    }
    for (i = 0; i < c->count; i++) {
        if (c->parts[i].from >= 0) close(c->parts[i].from);
        unlink(c->parts[i].said.text);
    }
}

/* ---- the three programs ------------------------------------------------------------------------------------------ */

static void add_list(arguments *a, const char *option, const lab_scene *s, bool block)
{
    char text[256];
    int32_t i;
    size_t at = 0;
    bool any = false;

    for (i = 0; i < s->servers; i++) {
        double ms = block ? s->server[i].block_ms : s->server[i].delay_ms;
        any = any || ms > 0;
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%g", i ? "," : "", ms);
    }
    if (any) lab_add(a, "%s=%s", option, text);
}

static void add_servers(arguments *a, const lab_scene *s, int32_t to)
{
    char text[256];
    int32_t i;
    size_t at = 0;

    for (i = 0; i < to; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%d@%g", i ? "," : "", (int)s->server[i].slots,
                               s->server[i].speed);
    }
    lab_add(a, "--servers=%s", text);
    add_list(a, "--base-delay", s, true);
    add_list(a, "--delay", s, false);
}

static void add_faults(arguments *a, const lab_scene *s)
{
    char text[512] = "";
    size_t at = 0;
    int32_t i;

    for (i = 0; i < s->faults; i++) {
        const lab_fault *f = &s->fault[i];
        at += (size_t)snprintf(text + at, sizeof text - at, "%st=%g server=%d kind=%s", i ? "," : "", f->at_s,
                               (int)f->server, f->kind);
        if (strcmp(f->kind, "slow") == 0) at += (size_t)snprintf(text + at, sizeof text - at, " speed=%g", f->value);
    }
    if (s->faults == 0) return;
    lab_add(a, "--fault=%s", text);
}

/* A process for these servers; those before them are there as well, for the names, and nobody asks them. */
static bool start_servers(cell *c, int32_t from, int32_t to)
{
    const lab_scene *s = &c->l->scene[c->scene];
    arguments *a = lab_arguments_new();
    process *p;
    int32_t i = 0, port = 0;

    lab_add(a, "%s/backend", c->l->bin);
    add_servers(a, s, to);
    add_faults(a, s);
    p = lab_start(c, "backend", a, false);
    if (!p) return false;
    for (;;) {
        if (!lab_hear(c, p)) return false;
        if (strcmp(p->line, "ready") == 0) break;
        if (strncmp(p->line, "server ", 7) != 0 || i == to) continue;
        if (!lab_port_of(c, p, &port)) return false;
        if (i >= from) c->port[i] = port;
        i++;
    }
    c->backend = p;
    return i == to || lab_no(c, "backend: %d servers of %d", (int)i, (int)to);
}

/* Where a server is to be killed, it is the last, in a process of its own. */
static bool start_backends(cell *c)
{
    const lab_scene *s = &c->l->scene[c->scene];
    int32_t i, alone = 0;

    for (i = 0; i < s->events; i++) alone |= s->event[i].deed == LAB_KILL_BACKEND;
    return start_servers(c, 0, s->servers - alone) && (!alone || start_servers(c, s->servers - 1, s->servers));
}

static bool start_proxy(cell *c, int32_t k)
{
    const lab_scene *s = &c->l->scene[c->scene];
    const lab_policy *y = &c->l->policy[c->policy];
    arguments *a = lab_arguments_new();
    process *p;
    int32_t i;

    lab_add(a, "%s/proxy", c->l->bin);
    lab_add(a, "--listen=127.0.0.1:0");
    lab_add(a, "--admin=off");
    lab_add(a, "--policy=%s", y->policy);
    if (s->part == LAB_APACHE) lab_add(a, "--health=/server-status?auto interval=0.25 timeout=1 says=apache");
    else lab_add(a, "--health=/health interval=1 timeout=0.5 says=json");
    lab_add(a, "--seed=%llu", (unsigned long long)(c->l->seed + (uint64_t)c->repeat * 16 + (uint64_t)k));
    for (i = 0; i < s->servers; i++) {
        lab_add(a, "--server=s%d 127.0.0.1:%d weight=%.6g", (int)i, (int)c->port[i], lab_weight(s, i, y->told));
    }
    if (s->retries >= 0) lab_add(a, "--retries=%d", (int)s->retries);
    p = lab_start(c, "proxy", a, false);
    if (!p) return false;
    do {
        if (!lab_hear(c, p)) return false;
    } while (strncmp(p->line, "listening on ", 13) != 0);
    return lab_port_of(c, p, &c->proxy_port[k]);
}

/* results.json of the load is not kept: all that is in it is in the log. */
static ex_path load_folder(const cell *c)
{
    ex_path folder = lab_log(c->l, c->scene, c->policy, c->repeat);

    snprintf(strrchr(folder.text, '.'), 6, ".load");
    return folder;
}

static bool start_load(cell *c, const char *log)
{
    const lab_scene *s = &c->l->scene[c->scene];
    arguments *a = lab_arguments_new();
    char urls[256] = "";
    size_t at = 0;
    int32_t k;

    for (k = 0; k < s->proxies; k++) {
        at += (size_t)snprintf(urls + at, sizeof urls - at, "%shttp://127.0.0.1:%d%s", k ? "," : "",
                               (int)c->proxy_port[k], s->part == LAB_APACHE ? lab_apache_target() : "/");
    }
    lab_add(a, "%s/load", c->l->bin);
    lab_add(a, "--url=%s", urls);
    if (s->clients > 0) lab_add(a, "--concurrency=%d", (int)s->clients);
    else lab_add(a, "--rate=%.10g", s->rate);
    if (s->closed) lab_add(a, "--sequential");
    if (s->requests > 0) lab_add(a, "--requests=%d", (int)(s->learn + s->requests));
    lab_add(a, "--duration=%g", s->requests > 0 ? 1e5 : s->total_s);
    if (s->work_ms > 0) lab_add(a, "--work=%g:%s", s->work_ms, s->exponential ? "exp" : "fixed");
    lab_add(a, "--seed=%llu", (unsigned long long)(c->l->seed + (uint64_t)c->repeat));
    lab_add(a, "--log=%s", log);
    lab_add(a, "--out=%s", load_folder(c).text);
    lab_add(a, "--quiet");
    return lab_start(c, "load", a, false) != NULL;
}

/* How long the traffic takes if all goes well, or is waited for. */
static double traffic_s(const lab_scene *s)
{
    double slowest_ms = 0;
    int32_t i;

    if (s->requests <= 0) return s->total_s;
    for (i = 0; i < s->servers; i++) slowest_ms = fmax(slowest_ms, s->server[i].block_ms + s->server[i].delay_ms);
    return (s->learn + s->requests) * (s->closed ? fmax(1 / s->rate, 1.5e-3 * slowest_ms) : 1.2 / s->rate);
}

/* What processor time the balancers and their companions have had, from one look to the other. */
typedef struct used {
    double from_s, to_s, hosts_s, companions_s;
    int looks;
} used;

/* Who is late for the first look takes all from the start for it, and for the second one what there was in the end. */
static void look(const cell *c, used *u, double at_s, bool last)
{
    const lab_scene *s = &c->l->scene[c->scene];
    double hosts_s, companions_s, second_s = s->total_s - EARLY_S;

    if (s->part != LAB_COST || u->looks > 1) return;
    if (u->looks == 0 && (last || at_s > (s->learn_s + second_s) / 2)) u->looks = 1;
    if (!last && at_s < (u->looks == 0 ? s->learn_s : second_s)) return;
    lab_host_used(c, &hosts_s, &companions_s);
    if (u->looks++ == 0) u->from_s = at_s;
    else u->to_s = at_s;
    u->hosts_s = hosts_s - u->hosts_s;
    u->companions_s = companions_s - u->companions_s;
}

/* Beside the log, in a line: from when, to when, processor seconds of balancers, of companions. */
static bool keep_used(const cell *c, const used *u)
{
    ex_text t = { 0 };
    bool ok;

    if (c->l->scene[c->scene].part != LAB_COST) return true;
    ex_text_printf(&t, "%.6f %.6f %.6f %.6f\n", u->from_s, u->to_s, u->hosts_s, u->companions_s);
    ok = ex_text_write(&t, lab_used(c->l, c->scene, c->policy, c->repeat).text);
    ex_text_free(&t);
    return ok;
}

/* Until the load is done; nothing else may end meanwhile but what is meant to. */
static bool watch(cell *c, used *u)
{
    const lab_scene *s = &c->l->scene[c->scene];
    double begun_s = ex_clock_s(), until_s = begun_s + traffic_s(s) + LATE_S, now_s;
    process *load = &c->parts[c->count - 1];
    int32_t i, done = 0;

    while (!over(load)) {
        for (i = 0; i < c->count - 1; i++) {
            if (over(&c->parts[i]) && !c->parts[i].killed) return ended_early(c, &c->parts[i]);
        }
        if (getppid() != c->parent) return lab_no(c, "nobody waits for it any more");
        now_s = ex_clock_s();
        if (done < s->events && now_s >= begun_s + s->event[done].at_s) {
            if (!lab_host_do(c, s->event[done++].deed)) return false;
        }
        look(c, u, now_s - begun_s, false);
        if (now_s > until_s) {
            return lab_no(c, "load is not done %g s after its traffic should have ended", LATE_S);
        }
        nap(0.01);
    }
    look(c, u, ex_clock_s() - begun_s, true);
    return load->status == 0 || ended_early(c, load);
}

static bool start_balancer(cell *c, int32_t k)
{
    return c->l->scene[c->scene].host == LAB_PROXY ? start_proxy(c, k) : lab_host_start(c, k);
}

static void empty(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) unlink(ex_path_join(path, e->d_name).text);
    if (d) closedir(d);
    rmdir(path);
}

/* The log gets its name only when it is whole. */
static bool run(cell *c)
{
    const lab_scene *s = &c->l->scene[c->scene];
    ex_path log = lab_log(c->l, c->scene, c->policy, c->repeat), half, folder = load_folder(c);
    used u = { 0 };
    int32_t k;
    bool ok = true;

    snprintf(half.text, sizeof half.text, "%.1000s.half", log.text);
    if (s->part != LAB_APACHE) ok = start_backends(c);
    else for (k = 0; k < s->servers; k++) c->port[k] = lab_apache_port(k);
    for (k = 0; ok && k < s->proxies; k++) ok = start_balancer(c, k);
    ok = ok && start_load(c, half.text) && watch(c, &u);
    stop(c);
    for (k = 0; k < s->proxies && s->host != LAB_PROXY; k++) empty(lab_host_folder(c, k).text);
    unlink(ex_path_join(folder.text, "results.json").text);
    rmdir(folder.text);
    ok = ok && keep_used(c, &u);
    if (!ok) unlink(half.text);
    else if (rename(half.text, log.text) != 0) ok = lab_no(c, "%s: %s", half.text, strerror(errno));
    return ok;
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

typedef struct work {
    lab *l;
    lab_part part;
    int32_t *cells; /* numbers of those that are to run, in order */
    int32_t count, next, done;
    double *begun_s; /* of each of them; 0: not yet, negative: over */
    double looked_s;
    lab_conditions *on;
    ex_progress bar;
} work;

static void cell_of(const lab *l, int32_t number, int32_t *scene, int32_t *policy, int32_t *repeat)
{
    *repeat = number % l->repeats;
    *policy = number / l->repeats % l->policies;
    *scene = number / l->repeats / l->policies;
}

/* The first of those that are to run beside this one: the policies of a world in one repeat, so that what the machine
   does meanwhile meets all of them. Where servers only wait, or little is asked of them, there is room for all cells at
   once; those that need the processor run one by one. */
static int32_t first_beside(const work *w, int32_t i)
{
    int32_t scene, policy, repeat, other_scene, other_repeat;
    const lab_scene *s = w->l->scene;

    if (w->l->quick || w->part == LAB_THREE || w->part == LAB_APACHE || w->part == LAB_EQUAL || w->part == LAB_COST) {
        return 0;
    }
    cell_of(w->l, w->cells[i], &scene, &policy, &repeat);
    for (; i > 0; i--) {
        cell_of(w->l, w->cells[i - 1], &other_scene, &policy, &other_repeat);
        if (strcmp(s[other_scene].world, s[scene].world) != 0 || other_repeat != repeat) break;
    }
    return i;
}

static int32_t next_cell(void *self)
{
    work *w = self;

    if (w->next == w->count || w->done < first_beside(w, w->next)) return -1;
    w->begun_s[w->next] = ex_clock_s();
    return w->cells[w->next++];
}

static int run_cell(void *self, int32_t number, void *mail, pid_t parent)
{
    work *w = self;
    cell c;

#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) return EX_FAILED;
    setpgid(0, 0); /* Ctrl-C is the parent's business */
    memset(&c, 0, sizeof c);
    c.l = w->l;
    c.why = mail;
    c.parent = parent;
    cell_of(w->l, number, &c.scene, &c.policy, &c.repeat);
    return run(&c) ? EX_OK : EX_FAILED;
}

static bool take_cell(void *self, int32_t number, const void *mail, int status, int killer)
{
    work *w = self;
    const char *why = mail;
    int32_t scene, policy, repeat, i;

    w->done++;
    for (i = 0; i < w->next; i++) {
        if (w->cells[i] == number) w->begun_s[i] = -1;
    }
    if (status == EX_OK && !killer) return true;
    cell_of(w->l, number, &scene, &policy, &repeat);
    if (!*why) why = killer ? "its process was killed" : "no reason given";
    return ex_fail("%s, %s, repeat %d: %s", w->l->scene[scene].key, w->l->policy[policy].name, (int)repeat + 1, why) ==
           EX_OK;
}

/* In seconds of traffic: dozens of cells may be under way at once, and end at once. */
static double traffic_of(const work *w, int32_t i)
{
    int32_t scene, policy, repeat;

    cell_of(w->l, w->cells[i], &scene, &policy, &repeat);
    return traffic_s(&w->l->scene[scene]);
}

static void show(void *self)
{
    work *w = self;
    double gone_s = 0, now_s = ex_clock_s(), late_s = now_s - w->looked_s - 0.005;
    int32_t i;

    w->looked_s = now_s;
    w->on->stalls += late_s > STALL_S;
    w->on->stall_most_s = fmax(w->on->stall_most_s, late_s);

    for (i = 0; i < w->next; i++) {
        double whole_s = traffic_of(w, i);
        gone_s += w->begun_s[i] < 0 ? whole_s : fmin(now_s - w->begun_s[i], 0.95 * whole_s);
    }
    ex_progress_step(&w->bar, (int64_t)gone_s, "%d of %d cells done", (int)w->done, (int)w->count);
}

static bool there(const lab *l, int32_t scene, int32_t policy, int32_t repeat)
{
    return access(lab_log(l, scene, policy, repeat).text, R_OK) == 0;
}

/* Repeat by repeat; each begins with another policy, so that what the machine does meanwhile meets all of them. */
static bool plan(work *w)
{
    const lab *l = w->l;
    int32_t s, p, i;

    w->cells = malloc(((size_t)l->scenes * (size_t)l->policies * (size_t)l->repeats + 1) * sizeof *w->cells);
    if (!w->cells) return ex_fail("not enough memory") == EX_OK;
    for (i = 0; i < l->repeats; i++) {
        for (s = 0; s < l->scenes; s++) {
            if (l->scene[s].part != w->part || !l->scene[s].wanted) continue;
            for (p = 0; p < l->policies; p++) {
                int32_t turned = (p + i) % l->policies;
                if (!lab_has(&l->scene[s], turned) || (l->resume && there(l, s, turned, i))) continue;
                w->cells[w->count++] = (s * l->policies + turned) * l->repeats + i;
            }
        }
    }
    w->begun_s = calloc((size_t)w->count + 1, sizeof *w->begun_s);
    return w->begun_s || ex_fail("not enough memory") == EX_OK;
}

/* All that shapes the logs of a scene, but for what is in their names. */
static void describe(const lab *l, const lab_scene *s, ex_text *t)
{
    ex_json j = { .to = t };
    int32_t i;

    ex_json_object(&j, NULL);
    ex_json_uint(&j, "seed", l->seed);
    ex_json_double(&j, "rate_per_s", s->rate);
    ex_json_bool(&j, "waits", s->closed);
    ex_json_int(&j, "requests", s->requests > 0 ? s->learn + s->requests : 0);
    ex_json_double(&j, "seconds", s->total_s);
    ex_json_double(&j, "work_ms", s->work_ms);
    ex_json_int(&j, "proxies", s->proxies);
    ex_json_int(&j, "retries", s->retries);
    if (s->host != LAB_PROXY) ex_json_int(&j, "clients", s->clients);
    ex_json_array(&j, "servers");
    for (i = 0; i < s->servers; i++) {
        ex_json_row(&j, NULL);
        ex_json_int(&j, "slots", s->server[i].slots);
        ex_json_double(&j, "speed", s->server[i].speed);
        ex_json_double(&j, "block_ms", s->server[i].block_ms);
        ex_json_double(&j, "delay_ms", s->server[i].delay_ms);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_array(&j, "faults");
    for (i = 0; i < s->faults; i++) {
        ex_json_row(&j, NULL);
        ex_json_double(&j, "at_s", s->fault[i].at_s);
        ex_json_int(&j, "server", s->fault[i].server);
        ex_json_string(&j, "kind", s->fault[i].kind);
        ex_json_double(&j, "value", s->fault[i].value);
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_end(&j);
    ex_text_add(t, "\n", 1);
}

static bool same_text(const char *path, const ex_text *t)
{
    ex_text old = { 0 };
    bool same = ex_file_read(path, (size_t)1 << 20, &old) && old.size == t->size;

    same = same && memcmp(old.data, t->data, t->size) == 0;
    ex_text_free(&old);
    return same;
}

/* Logs of other settings are never taken for these. */
static bool folder(const lab *l, const lab_scene *s)
{
    ex_path path = ex_path_join(ex_path_join(l->out, "runs").text, s->key), file;
    ex_text t = { 0 };
    bool ok = ex_folder_make(path.text);

    file = ex_path_join(path.text, "settings.json");
    describe(l, s, &t);
    if (ok && l->resume && access(file.text, F_OK) == 0) {
        ok = same_text(file.text, &t) ||
             ex_fail("%s: what is there was made with other options: leave out --resume, or choose another --out",
                     path.text) == EX_OK;
    } else if (ok) {
        empty(path.text);
        ok = ex_folder_make(path.text) && ex_text_write(&t, file.text);
    }
    ex_text_free(&t);
    return ok;
}

static bool folders(const lab *l, lab_part part)
{
    int32_t s;

    for (s = 0; s < l->scenes; s++) {
        const lab_scene *x = &l->scene[s];
        if (x->part == part && x->wanted && !folder(l, x)) return false;
    }
    return true;
}

static bool ends_in(const char *name, const char *end)
{
    size_t size = strlen(name), more = strlen(end);
    return size > more && strcmp(name + size - more, end) == 0;
}

/* What cells leave that were killed, now or when the program was last here. */
static void sweep(const lab *l, lab_part part)
{
    ex_path runs = ex_path_join(l->out, "runs");
    int32_t s;

    for (s = 0; s < l->scenes; s++) {
        ex_path folder = ex_path_join(runs.text, l->scene[s].key);
        DIR *d = l->scene[s].part == part ? opendir(folder.text) : NULL;
        struct dirent *e;
        while (d && (e = readdir(d)) != NULL) {
            ex_path path = ex_path_join(folder.text, e->d_name);
            if (ends_in(e->d_name, ".load") || ends_in(e->d_name, ".host")) empty(path.text);
            else if (ends_in(e->d_name, ".said") || strstr(e->d_name, ".half")) unlink(path.text);
        }
        if (d) closedir(d);
    }
}

/* Seconds of processor time since the machine began, idle time left out. */
static double machine_busy_s(void)
{
    FILE *f = fopen("/proc/stat", "r");
    double tick[10] = { 0 }, sum = 0;
    int i;

    if (!f) return (double)NAN;
    if (fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &tick[0], &tick[1], &tick[2], &tick[3], &tick[4], &tick[5],
               &tick[6], &tick[7]) != 8) {
        fclose(f);
        return (double)NAN;
    }
    fclose(f);
    for (i = 0; i < 8; i++) sum += i == 3 || i == 4 ? 0 : tick[i];
    return sum / (double)sysconf(_SC_CLK_TCK);
}

static double own_busy_s(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_CHILDREN, &u) != 0) return (double)NAN;
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           1e-6 * ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec);
}

/* One that needs the processor has the machine for itself, those that only wait share it. */
static int32_t jobs_of(const lab *l, lab_part part)
{
    if (part == LAB_APACHE || part == LAB_COST) return 1;
    if (part == LAB_THREE) return l->jobs > 0 ? l->jobs * 20 : 120;
    if (part == LAB_EQUAL) return l->policies * l->repeats;
    return l->jobs > 0 ? l->jobs : l->policies;
}

double lab_work_s(lab *l, lab_part part)
{
    work w = { .l = l, .part = part };
    int32_t i, first = 0, jobs = jobs_of(l, part);
    double sum = 0, most = 0, all_s = 0;

    if (!plan(&w)) return (double)NAN;
    for (i = 0; i <= w.count; i++) {
        if (i == w.count || (i > 0 && first_beside(&w, i) != first)) {
            all_s += fmax(most, sum / jobs) + (i > 0);
            sum = most = 0;
            first = i;
        }
        if (i == w.count) break;
        sum += traffic_of(&w, i) + (jobs == 1);
        most = fmax(most, traffic_of(&w, i));
    }
    free(w.cells);
    free(w.begun_s);
    return w.count > 0 ? all_s : 0;
}

int lab_work(lab *l, lab_part part)
{
    work w = { .l = l, .part = part };
    lab_conditions *on = &l->conditions[part];
    double traffic = 0;
    ex_pool pool;
    int32_t i;
    bool ok;

    if (!folders(l, part) || !plan(&w)) {
        free(w.cells);
        free(w.begun_s);
        return EX_FAILED;
    }
    sweep(l, part);
    memset(&pool, 0, sizeof pool);
    pool.self = &w;
    pool.jobs = on->jobs = jobs_of(l, part);
    pool.runs = w.count;
    pool.mail_bytes = WHY_BYTES;
    pool.next = next_cell;
    pool.run = run_cell;
    pool.take = take_cell;
    pool.show = show;
    on->processors = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    on->stalls = 0;
    on->stall_most_s = 0;
    w.on = on;
    w.looked_s = ex_clock_s();
    on->seconds = -ex_clock_s();
    on->all_s = -machine_busy_s();
    on->own_s = -own_busy_s();
    for (i = 0; i < w.count; i++) traffic += traffic_of(&w, i);
    ex_progress_start(&w.bar, lab_part_names[part], (int64_t)traffic + 1, l->quiet || w.count == 0);
    ok = w.count == 0 || ex_pool_work(&pool);
    ex_progress_end(&w.bar, ok && !ex_interrupted() ? "%d cells of %s" : NULL, (int)w.count, lab_part_names[part]);
    if (!ok || ex_interrupted()) {
        nap(0.1); /* the cells are gone, what they had started goes now */
        sweep(l, part);
    }
    on->seconds += ex_clock_s();
    on->all_s += machine_busy_s();
    on->own_s += own_busy_s();
    free(w.cells);
    free(w.begun_s);
    if (!ex_interrupted()) return ok ? EX_GO_ON : EX_FAILED;
    ex_fail("stopped with %d of %d cells of %s done; --resume goes on from there", (int)w.done, (int)w.count,
            lab_part_names[part]);
    return ex_interrupt_status();
}
