/* lab_stage.c - see lab_parts.h

   Hosts are network namespaces without names: a process that sleeps holds each of them open, cables of veth lead from
   each to a bridge in one more. None of it can be seen in the system's own namespace, and all of it is gone when the
   last process in there is. All processes die with this one (PR_SET_PDEATHSIG), so that even kill -9 leaves no network.

   Two things the kernel does not take away by itself: the groups that hold the CPU quotas, and a folder. A keeper waits
   for the end of a pipe to close, which it does however this program ends, and removes them. Should the keeper be
   killed too, the next start finds them by their names, which tell whose they were. Who is killed is not dead yet: both
   go on until nothing is left, for half a minute. */

#define _GNU_SOURCE /* unshare, setns, pipe2 */

#include "lab_parts.h"

#include "cgroups.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MOST = 64, QUOTA_LEAST_US = 1000 /* the kernel takes no less */, PERIOD_US = 10000 };
enum { TRIES = 3000 }; /* of ten milliseconds: for the dying */
#define STOP_S 20.0

static const char *const addresses[UL_HOSTS] = { "192.168.56.4", "192.168.56.5", "192.168.56.6", "192.168.56.7",
                                                 "192.168.56.1", "" };

static struct {
    bool spaces, quotas;
    char why[UL_WHY], folder[200], group[UL_CLIENTS][200];
    pid_t holder[UL_HOSTS];
    int space[UL_HOSTS], own_space, keeper_pipe;
    pid_t keeper;
    double cpus[UL_CLIENTS], begin_s;
    ul_process *process[PROCESSES_MOST];
    int32_t processes;
    double spent_s[UL_CLIENTS]; /* processor time of processes that have ended */
    double counted[UL_CLIENTS][2];
    double user[UL_CLIENTS], idle[UL_CLIENTS]; /* ticks, which never run backwards */
    char proc[UL_CLIENTS][240];
} stage = { .keeper_pipe = -1, .own_space = -1, .space = { -1, -1, -1, -1, -1, -1 } };

bool ul_stage_spaces(void)
{
    return stage.spaces;
}

bool ul_stage_quotas(void)
{
    return stage.quotas;
}

const char *ul_stage_why(void)
{
    return stage.why;
}

const char *ul_stage_folder(void)
{
    return stage.folder;
}

const char *ul_address(ul_host host)
{
    return stage.spaces ? addresses[host] : "127.0.0.1";
}

const char *ul_proc_folder(int32_t client)
{
    return stage.proc[client];
}

static bool because(const char *what, const char *why)
{
    if (!*stage.why) snprintf(stage.why, sizeof stage.why, "%s%s%s", what, *why ? ": " : "", why);
    return false;
}

static void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- files that are not kept ------------------------------------------------------------------------------------- */

static bool replace(const char *folder, const char *name, const char *text, size_t size)
{
    return ex_file_replace(ex_path_join(folder, name).text, text, size, 0644) == 0;
}

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        char inside[600];
        struct stat about;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(inside, sizeof inside, "%.300s/%.255s", path, e->d_name);
        if (lstat(inside, &about) == 0 && S_ISDIR(about.st_mode)) remove_all(inside);
        else unlink(inside);
    }
    if (d) closedir(d);
    rmdir(path);
}

/* ---- groups that hold quotas ------------------------------------------------------------------------------------- */

/* In periods as short as the smallest quota allows: whoever has used his waits for the next. */
static bool set_quota(int32_t client)
{
    double least = fmin(stage.cpus[0], fmin(stage.cpus[1], stage.cpus[2]));
    int32_t period_us = (int32_t)fmin(1e6, fmax(PERIOD_US, ceil(QUOTA_LEAST_US / least)));

    return ex_cgroup_quota(stage.group[client], stage.cpus[client], period_us);
}

static bool groups_make(void)
{
    const char *root = ex_cgroup_root();
    int32_t k;

    if (geteuid() != 0) return because("CPU quotas need root", "");
    if (!root) return because("no cgroups with a CPU controller here", "");
    for (k = 0; k < UL_CLIENTS; k++) {
        snprintf(stage.group[k], sizeof stage.group[k], "%s/rllb-udp-%ld-%d", root, (long)getpid(), (int)k);
        if (!ex_cgroup_make(stage.group[k])) {
            because("no cgroup can be made", strerror(errno));
            stage.group[k][0] = '\0';
            return false;
        }
        if (!set_quota(k)) return because("cgroups here take no CPU quota", strerror(errno));
    }
    return true;
}

/* Under a quota it takes time to die. */
static void group_remove(const char *group)
{
    int32_t tries;

    for (tries = 0; tries < 10 && access(group, F_OK) == 0; tries++) ex_cgroup_remove(group);
}

static void groups_remove(void)
{
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        if (*stage.group[k]) group_remove(stage.group[k]);
        stage.group[k][0] = '\0';
    }
}

/* ---- what an earlier start left ---------------------------------------------------------------------------------- */

static const char *folder_base(void)
{
    const char *base = getenv("TMPDIR");
    return base && *base && strlen(base) < 100 ? base : "/tmp";
}

/* Nobody has asked yet how it ended. */
static bool is_zombie(long pid)
{
    char path[64], state = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    f = fopen(path, "r");
    if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1) state = 0;
    if (f) fclose(f);
    return state == 'Z';
}

/* rllb-udp-PID-...: of a process that is no more. */
static bool orphaned(const char *name)
{
    long pid = 0;

    if (sscanf(name, "rllb-udp-%ld-", &pid) != 1 || pid <= 0) return false;
    return (kill((pid_t)pid, 0) != 0 && errno == ESRCH) || is_zombie(pid);
}

/* A process that is dying may still write. */
static void folder_remove(const char *path)
{
    int32_t tries;

    for (tries = 0; tries < TRIES && access(path, F_OK) == 0; tries++) {
        remove_all(path);
        if (access(path, F_OK) == 0) nap_ms(10);
    }
}

static void sweep_in(const char *folder, bool groups)
{
    DIR *d = opendir(folder);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        char path[600];
        if (!orphaned(e->d_name)) continue;
        snprintf(path, sizeof path, "%.300s/%.255s", folder, e->d_name);
        if (groups) group_remove(path);
        else folder_remove(path);
    }
    if (d) closedir(d);
}

static void sweep(void)
{
    const char *root = ex_cgroup_root();

    if (root && geteuid() == 0) sweep_in(root, true);
    sweep_in(folder_base(), false);
}

/* ---- the keeper -------------------------------------------------------------------------------------------------- */

/* What came with the fork and is the program's own: the lock of its results, pipes, namespaces. */
static void close_from(int first, int but)
{
    int fd;

    for (fd = first; fd < 1024; fd++) {
        if (fd != but) close(fd);
    }
}

/* A byte comes when all is over. None: the program has died. Its files are closed a moment before its children are
   told, who until then may make the folder anew; they have been told when this one's parent is another. */
static void keep(int wait_for, pid_t parent)
{
    int32_t tries;
    ssize_t got;
    char byte;

    setsid(); /* Ctrl-C is not for the keeper: what it means for it is the pipe's end */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    close_from(0, wait_for);
    while ((got = read(wait_for, &byte, 1)) < 0 && errno == EINTR) {}
    for (tries = 0; got != 1 && getppid() == parent && tries < TRIES; tries++) nap_ms(10);
    groups_remove();
    folder_remove(stage.folder);
    _exit(0);
}

static bool keeper_start(void)
{
    pid_t self = getpid();
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) return ex_fail("no pipe: %s", strerror(errno)) == EX_OK;
    fflush(NULL);
    stage.keeper = fork();
    if (stage.keeper == 0) {
        close(ends[1]);
        keep(ends[0], self);
    }
    close(ends[0]);
    if (stage.keeper > 0) {
        stage.keeper_pipe = ends[1];
        return true;
    }
    close(ends[1]);
    return ex_fail("no process: %s", strerror(errno)) == EX_OK;
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

static void sleep_for(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the parent's business */
    signal(SIGTERM, SIG_DFL);
    if (getppid() != parent) _exit(1);
    for (;;) pause();
}

/* A namespace, and a process that holds it open. */
static bool space_make(int32_t host)
{
    char path[64], byte = 0;
    pid_t self = getpid();
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) return because("no pipe", strerror(errno));
    stage.holder[host] = fork();
    if (stage.holder[host] == 0) {
        byte = unshare(CLONE_NEWNET) == 0;
        if (write(ends[1], &byte, 1) != 1 || !byte) _exit(1);
        close_from(0, -1);
        sleep_for(self);
    }
    close(ends[1]);
    if (stage.holder[host] < 0 || read(ends[0], &byte, 1) != 1 || !byte) {
        close(ends[0]);
        return because("no network namespace can be made", "");
    }
    close(ends[0]);
    snprintf(path, sizeof path, "/proc/%ld/ns/net", (long)stage.holder[host]);
    stage.space[host] = open(path, O_RDONLY | O_CLOEXEC);
    return stage.space[host] >= 0 || because(path, strerror(errno));
}

/* Commands for `ip`, a line each, in a host. */
static bool run_ip(int32_t host, const char *commands)
{
    int ends[2], status = 1;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0) return because("no pipe", strerror(errno));
    pid = fork();
    if (pid == 0) {
        int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (setns(stage.space[host], CLONE_NEWNET) != 0) _exit(126);
        dup2(ends[0], STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
        dup2(nothing, STDERR_FILENO);
        signal(SIGPIPE, SIG_DFL);
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        execlp("ip", "ip", "-batch", "-", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    if (pid > 0) {
        ssize_t wrote = write(ends[1], commands, strlen(commands));
        close(ends[1]);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        if (wrote == (ssize_t)strlen(commands) && status == 0) return true;
    } else {
        close(ends[1]);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return because("`ip` is not installed (iproute2)", "");
    return because("`ip` fails", commands);
}

static bool spaces_make(void)
{
    char text[600] = "link add br0 type bridge\nlink set br0 up\n";
    int32_t host;

    if (geteuid() != 0) return because("network namespaces need root", "");
    for (host = 0; host < UL_HOSTS; host++) {
        if (!space_make(host)) return false;
    }
    for (host = 0; host < UL_SWITCH; host++) {
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "link add p%d type veth peer name eth0 netns %ld\nlink set p%d master br0 up\n", (int)host,
                 (long)stage.holder[host], (int)host);
    }
    if (!run_ip(UL_SWITCH, text)) return false;
    for (host = 0; host < UL_SWITCH; host++) {
        snprintf(text, sizeof text, "link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n", addresses[host]);
        if (!run_ip(host, text)) return false;
    }
    return true;
}

static void spaces_remove(void)
{
    int32_t host;

    for (host = 0; host < UL_HOSTS; host++) {
        if (stage.space[host] >= 0) close(stage.space[host]);
        stage.space[host] = -1;
        if (stage.holder[host] > 0) {
            kill(stage.holder[host], SIGKILL);
            while (waitpid(stage.holder[host], NULL, 0) < 0 && errno == EINTR) {}
        }
        stage.holder[host] = 0;
    }
}

/* A socket belongs to the namespace it was made in. */
int ul_connect(ul_host from, ul_host to, int32_t port)
{
    struct timeval patience = { 1, 0 };
    struct sockaddr_in a;
    int fd;

    if (stage.spaces && setns(stage.space[from], CLONE_NEWNET) != 0) return -1;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (stage.spaces && setns(stage.own_space, CLONE_NEWNET) != 0) abort(); /* never go on in a wrong one */
    if (fd < 0) return -1;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, ul_address(to), &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
    close(fd);
    return -1;
}

int32_t ul_free_port(void)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int32_t port = 0;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &size) == 0) {
        port = ntohs(a.sin_port);
    }
    if (fd >= 0) close(fd);
    return port;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

void ul_add(ul_arguments *a, const char *format, ...)
{
    va_list values;
    int wrote;

    if (a->count == EX_COUNT(a->text)) {
        a->full = true;
        return;
    }
    va_start(values, format);
    wrote = vsnprintf(a->text[a->count], sizeof *a->text, format, values);
    va_end(values);
    if (wrote < 0 || wrote >= (int)sizeof *a->text) a->full = true;
    a->list[a->count] = a->text[a->count];
    a->list[++a->count] = NULL;
}

/* In the new process: where it belongs, before it begins. */
static void settle(const ul_process *p, ul_host host, int to, pid_t parent)
{
    int said, nothing;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126); /* it died before that, and its folder is gone or goes */
    setpgid(0, 0); /* Ctrl-C is the parent's business */
    said = open(p->said.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (said < 0 || nothing < 0) _exit(126);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    dup2(nothing, STDIN_FILENO);
    dup2(to, STDOUT_FILENO);
    dup2(said, STDERR_FILENO);
    if (stage.spaces && setns(stage.space[host], CLONE_NEWNET) != 0) _exit(126);
    if (stage.quotas && p->client >= 0 && !ex_cgroup_enter(stage.group[p->client])) _exit(126);
}

static bool process_begin(ul_process *p, const char *name, int32_t client, int ends[2])
{
    static int32_t number;

    memset(p, 0, sizeof *p);
    p->client = client;
    p->from = -1;
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->said.text, sizeof p->said.text, "%s/%s-%d.said", stage.folder, name, (int)++number);
    if (stage.processes == PROCESSES_MOST) return ex_fail("%s: too many processes", name) == EX_OK;
    if (pipe2(ends, O_CLOEXEC) != 0) return ex_fail("%s: no pipe: %s", name, strerror(errno)) == EX_OK;
    fflush(NULL);
    return true;
}

static bool process_began(ul_process *p, const int ends[2])
{
    close(ends[1]);
    p->from = ends[0];
    if (p->pid <= 0) {
        p->pid = 0;
        close(p->from);
        p->from = -1;
        return ex_fail("%s: no process: %s", p->name, strerror(errno)) == EX_OK;
    }
    fcntl(p->from, F_SETFL, O_NONBLOCK);
    stage.process[stage.processes++] = p;
    return true;
}

bool ul_start(ul_process *p, const char *name, ul_host host, int32_t client, const ul_arguments *a)
{
    pid_t self = getpid();
    int ends[2];

    if (a->full) return ex_fail("%s: more arguments than there is room for", name) == EX_OK;
    if (!process_begin(p, name, client, ends)) return false;
    p->pid = fork();
    if (p->pid == 0) {
        settle(p, host, ends[1], self);
        execvp(a->list[0], a->list);
        fprintf(stderr, "%s: cannot be started: %s\n", a->list[0], strerror(errno));
        fflush(stderr);
        _exit(127);
    }
    return process_began(p, ends);
}

bool ul_start_function(ul_process *p, const char *name, int32_t client, void (*run)(void))
{
    pid_t self = getpid();
    int ends[2];

    if (!process_begin(p, name, client, ends)) return false;
    p->pid = fork();
    if (p->pid == 0) {
        settle(p, UL_SERVER, ends[1], self);
        close_from(STDERR_FILENO + 1, -1);
        run();
        _exit(0);
    }
    return process_began(p, ends);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

bool ul_over(ul_process *p)
{
    struct rusage used;
    int32_t i;

    if (p->pid <= 0) return true;
    if (wait4(p->pid, &p->status, WNOHANG, &used) != p->pid) return false;
    p->pid = 0;
    if (p->client >= 0) stage.spent_s[p->client] += seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
    for (i = 0; i < stage.processes; i++) {
        if (stage.process[i] == p) stage.process[i] = stage.process[--stage.processes];
    }
    return true;
}

int32_t ul_hear(ul_process *p)
{
    char letter;
    ssize_t got;

    if (p->from < 0) return -1;
    while ((got = read(p->from, &letter, 1)) == 1) {
        if (letter == '\n') {
            p->line[p->used] = '\0';
            p->used = 0;
            return 1;
        }
        if (p->used < (int32_t)sizeof p->line - 1) p->line[p->used++] = letter;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void process_forget(ul_process *p)
{
    if (p->from >= 0) close(p->from);
    p->from = -1;
}

bool ul_end(ul_process *p)
{
    double until_s = ex_clock_s() + STOP_S;

    if (!*p->name) return true; /* it never was */
    if (p->pid > 0) kill(p->pid, SIGTERM);
    while (!ul_over(p)) {
        char more[4096];
        while (p->from >= 0 && read(p->from, more, sizeof more) > 0) {} /* more to say than a pipe holds */
        if (ex_clock_s() > until_s) kill(p->pid, SIGKILL);
        nap_ms(5);
    }
    process_forget(p);
    return p->status == 0;
}

void ul_kill(ul_process *p)
{
    if (!*p->name) return;
    if (p->pid > 0) kill(p->pid, SIGKILL);
    while (!ul_over(p)) nap_ms(1);
    process_forget(p);
}

void ul_last_words(const ul_process *p, char out[UL_WHY])
{
    FILE *f = fopen(p->said.text, "r");
    char line[200], last[200] = "", *end;

    while (f && fgets(line, sizeof line, f)) {
        end = strchr(line, '\n');
        if (end) *end = '\0';
        if (*line) memcpy(last, line, sizeof last);
    }
    if (f) fclose(f);
    if (WIFSIGNALED(p->status)) snprintf(out, UL_WHY, "%s was ended by signal %d", p->name, WTERMSIG(p->status));
    else snprintf(out, UL_WHY, "%s ended with status %d%s%s", p->name, WEXITSTATUS(p->status), *last ? "; " : "", last);
}

/* ---- what clients use -------------------------------------------------------------------------------------------- */

static double process_cpu_s(pid_t pid)
{
    struct timespec t;
    clockid_t of;

    if (clock_getcpuclockid(pid, &of) != 0 || clock_gettime(of, &t) != 0) return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double process_memory(pid_t pid)
{
    char path[64];
    double whole = 0, resident = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    f = fopen(path, "r");
    if (f && fscanf(f, "%lf %lf", &whole, &resident) != 2) resident = 0;
    if (f) fclose(f);
    return resident * (double)sysconf(_SC_PAGESIZE);
}

/* All of /proc/net/dev of a host. */
static size_t read_net(int32_t client, char *text, size_t room)
{
    char path[64];
    size_t used = 0;
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/net/dev", (long)stage.holder[UL_CLIENT_1 + client]);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    while (used < room - 1 && (got = read(fd, text + used, room - 1 - used)) > 0) used += (size_t)got;
    close(fd);
    text[used] = '\0';
    return used;
}

static void read_counters(const char *text, double *in, double *out)
{
    const char *at = strstr(text, "eth0:");

    *in = *out = 0;
    if (at && sscanf(at + 5, "%lf %*f %*f %*f %*f %*f %*f %*f %lf", in, out) != 2) *in = *out = 0;
}

void ul_client_counters(int32_t client, double in, double out)
{
    stage.counted[client][0] = in;
    stage.counted[client][1] = out;
}

void ul_client_use(int32_t client, ul_use *out)
{
    char text[4096];
    int32_t i;

    out->cpu_s = stage.spent_s[client];
    out->memory = 0;
    for (i = 0; i < stage.processes; i++) {
        const ul_process *p = stage.process[i];
        if (p->client != client || p->pid <= 0) continue;
        out->cpu_s += process_cpu_s(p->pid);
        out->memory += process_memory(p->pid);
    }
    out->in = stage.counted[client][0];
    out->out = stage.counted[client][1];
    if (stage.spaces && read_net(client, text, sizeof text) > 0) read_counters(text, &out->in, &out->out);
}

/* ---- what agents read -------------------------------------------------------------------------------------------- */

/* A processor of 100 ticks a second that can do what the quota allows: so a client that uses all of it is busy. */
static bool write_stat(int32_t client, const ul_use *use)
{
    double ticks = 100 * (ex_clock_s() - stage.begin_s), user = 100 * use->cpu_s / stage.cpus[client];
    char text[400];
    int size;

    if (user > stage.user[client]) stage.user[client] = user;
    if (ticks - stage.user[client] > stage.idle[client]) stage.idle[client] = ticks - stage.user[client];
    size = snprintf(text, sizeof text,
                    "cpu  %.0f 0 0 %.0f 0 0 0 0 0 0\ncpu0 %.0f 0 0 %.0f 0 0 0 0 0 0\nctxt 0\nbtime 1\nprocesses 1\n"
                    "procs_running 1\nprocs_blocked 0\n",
                    stage.user[client], stage.idle[client], stage.user[client], stage.idle[client]);
    return replace(stage.proc[client], "stat", text, (size_t)size);
}

static bool write_memory(int32_t client, double used, double all)
{
    char text[400];
    double rest = used < all ? all - used : 0;
    int size = snprintf(text, sizeof text,
                        "MemTotal: %.0f kB\nMemFree: %.0f kB\nMemAvailable: %.0f kB\nBuffers: 0 kB\nCached: 0 kB\n"
                        "SwapCached: 0 kB\nActive: %.0f kB\nInactive: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
                        "Shmem: 0 kB\nSlab: 0 kB\nSReclaimable: 0 kB\n",
                        all / 1024, rest / 1024, rest / 1024, (all - rest) / 1024);

    return replace(stage.proc[client], "meminfo", text, (size_t)size);
}

static bool write_net(int32_t client, const ul_use *use)
{
    char text[4096];
    size_t size = stage.spaces ? read_net(client, text, sizeof text) : 0;

    if (!stage.spaces) {
        size = (size_t)snprintf(text, sizeof text,
                                "Inter-|   Receive                                                |  Transmit\n"
                                " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets "
                                "errs drop fifo colls carrier compressed\n"
                                "  eth0: %.0f 0 0 0 0 0 0 0 %.0f 0 0 0 0 0 0 0\n",
                                use->in, use->out);
    }
    return replace(stage.proc[client], "net/dev", text, size);
}

bool ul_proc_write(int32_t client, const ul_use *use, double memory_bytes)
{
    return write_stat(client, use) && write_memory(client, use->memory, memory_bytes) && write_net(client, use);
}

static bool proc_make(void)
{
    char path[300];
    int32_t k;

    for (k = 0; k < UL_CLIENTS; k++) {
        snprintf(stage.proc[k], sizeof stage.proc[k], "%s/proc%d", stage.folder, (int)k + 1);
        snprintf(path, sizeof path, "%s/net", stage.proc[k]);
        if (mkdir(stage.proc[k], 0755) != 0 || mkdir(path, 0755) != 0) {
            return ex_fail("%s: %s", path, strerror(errno)) == EX_OK;
        }
    }
    return true;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

bool ul_stage_open(bool loopback, const double cpus[UL_CLIENTS])
{
    memcpy(stage.cpus, cpus, sizeof stage.cpus);
    stage.begin_s = ex_clock_s();
    signal(SIGPIPE, SIG_IGN); /* who is written to may have ended: that is for the writer to see */
    sweep();
    snprintf(stage.folder, sizeof stage.folder, "%s/rllb-udp-%ld-XXXXXX", folder_base(), (long)getpid());
    if (!mkdtemp(stage.folder)) {
        ex_fail("%s: %s", stage.folder, strerror(errno));
        stage.folder[0] = '\0';
        return false;
    }
    stage.quotas = groups_make();
    if (!stage.quotas) groups_remove();
    if (!keeper_start()) {
        groups_remove();
        remove_all(stage.folder);
        return false;
    }
    stage.own_space = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (loopback) because("--loopback", "");
    else stage.spaces = spaces_make();
    if (!stage.spaces) spaces_remove();
    return proc_make();
}

void ul_stage_close(void)
{
    while (stage.processes > 0) ul_kill(stage.process[stage.processes - 1]);
    spaces_remove();
    if (stage.own_space >= 0) close(stage.own_space);
    stage.own_space = -1;
    if (stage.keeper_pipe < 0) return;
    while (write(stage.keeper_pipe, "x", 1) < 0 && errno == EINTR) {}
    close(stage.keeper_pipe);
    stage.keeper_pipe = -1;
    while (waitpid(stage.keeper, NULL, 0) < 0 && errno == EINTR) {}
}
