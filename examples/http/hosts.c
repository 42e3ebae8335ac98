/* hosts.c - nginx and HAProxy in the place of our proxy; see experiment.h

   Each has a folder of its own for its settings beside the log of the cell, and a port that nobody had a moment ago.
   nginx balances by its own least_conn, or by the module of examples/nginx; HAProxy always by leastconn, and the
   companion of examples/haproxy may set its weights. Settings are those that docs/nginx.md and docs/haproxy.md tell to
   write. */

#define _GNU_SOURCE /* realpath */

#include "experiment.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const char *const lab_host_names[] = { "proxy", "nginx", "haproxy", NULL };
const char *const lab_deed_names[] = { "reload", "restart", "a worker is killed",
                                       "the companion is killed and started again", "a backend is killed", NULL };

enum { SOCKET_MOST = 107 - 12 }; /* of a path: HAProxy binds to one with .PID.tmp behind it first */

/* ---- what is there ------------------------------------------------------------------------------------------- */

/* In the folders of PATH, and in those of administrators. */
static bool find_program(const char *name, ex_path *out)
{
    const char *path = getenv("PATH");
    char folders[4096], *at = folders;

    snprintf(folders, sizeof folders, "%s:/usr/sbin:/usr/local/sbin", path ? path : "");
    while (*at) {
        size_t size = strcspn(at, ":");
        bool last = at[size] == '\0';
        at[size] = '\0';
        *out = ex_path_join(*at ? at : ".", name);
        if (access(out->text, X_OK) == 0) return true;
        at += size + !last;
    }
    return false;
}

bool lab_host_there(const lab *l, lab_host host, char *why, size_t size)
{
    const char *file = host == LAB_NGINX ? l->module : l->companion, *name = lab_host_names[host];
    ex_path program;

    if (host == LAB_PROXY) return true;
    if (!find_program(name, &program)) {
        snprintf(why, size, "%s is not installed", name);
    } else if (access(file, R_OK) != 0) {
        snprintf(why, size, "%.120s is not there: make %s", file,
                 host == LAB_NGINX ? "nginx-module (which needs nginx-dev)" : "build/haproxy/companion");
    } else if (access(l->model, R_OK) != 0) {
        snprintf(why, size, "%.120s: %s", l->model, strerror(errno));
    } else {
        return true;
    }
    return false;
}

ex_path lab_host_folder(const lab_cell *c, int32_t k)
{
    ex_path path = lab_log(c->l, c->scene, c->policy, c->repeat), folder;

    snprintf(folder.text, sizeof folder.text, "%.*s-%d.host", (int)strlen(path.text) - 4, path.text, (int)k);
    return folder;
}

/* As the host has them: whole numbers, the largest `most`. */
static int32_t weight(const lab_scene *s, int32_t server, lab_told told, int32_t most)
{
    double largest = 0;
    int32_t i;

    for (i = 0; i < s->servers; i++) largest = fmax(largest, lab_weight(s, i, told));
    i = (int32_t)lround(most * lab_weight(s, server, told) / largest);
    return i > 0 ? i : 1;
}

static bool put(lab_cell *c, int32_t k, const char *name, ex_text *text)
{
    ex_path path = ex_path_join(lab_host_folder(c, k).text, name);
    bool ok = ex_text_write(text, path.text);

    ex_text_free(text);
    return ok || lab_no(c, "%s cannot be written", path.text);
}

/* ---- nginx --------------------------------------------------------------------------------------------------- */

/* nginx looks for relative paths where its settings are. */
static const char *whole(const char *path, char out[4096])
{
    return realpath(path, out) ? out : path;
}

static bool is_rllb(const lab_policy *y)
{
    return strncmp(y->policy, "rllb", 4) == 0;
}

static void nginx_upstream(const lab_cell *c, ex_text *t)
{
    const lab_scene *s = &c->l->scene[c->scene];
    const lab_policy *y = &c->l->policy[c->policy];
    char path[4096];
    int32_t i;

    ex_text_printf(t, "    upstream farm {\n        zone farm 256k;\n");
    for (i = 0; i < s->servers; i++) {
        ex_text_printf(t, "        server 127.0.0.1:%d", (int)c->port[i]);
        if (y->told != LAB_TOLD_NOTHING) ex_text_printf(t, " weight=%d", (int)weight(s, i, y->told, 100));
        ex_text_printf(t, ";\n");
    }
    ex_text_printf(t, "        %s", y->policy);
    if (strstr(y->policy, "learned")) ex_text_printf(t, " \"model=%s\"", whole(c->l->model, path));
    ex_text_printf(t, ";\n        keepalive 64;\n    }\n");
}

static bool nginx_settings(lab_cell *c, int32_t k)
{
    static const char *const kinds[] = { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" };
    const lab_scene *s = &c->l->scene[c->scene];
    ex_text t = { 0 };
    char path[4096];
    int32_t i;

    if (is_rllb(&c->l->policy[c->policy])) ex_text_printf(&t, "load_module \"%s\";\n", whole(c->l->module, path));
    ex_text_printf(&t, "daemon off;\nmaster_process on;\nworker_processes %d;\npid pid;\nerror_log stderr crit;\n"
                   "events {\n    worker_connections 4096;\n}\nhttp {\n    access_log off;\n"
                   "    keepalive_requests 1000000000;\n", s->part == LAB_LOSS ? 2 : 1);
    for (i = 0; i < EX_COUNT(kinds); i++) ex_text_printf(&t, "    %s_temp_path .;\n", kinds[i]);
    nginx_upstream(c, &t);
    ex_text_printf(&t, "    server {\n        listen 127.0.0.1:%d;\n        location / {\n"
                   "            proxy_pass http://farm;\n            proxy_http_version 1.1;\n"
                   "            proxy_set_header Connection \"\";\n        }\n    }\n}\n", (int)c->proxy_port[k]);
    return put(c, k, "nginx.conf", &t);
}

/* ---- HAProxy and its companion ----------------------------------------------------------------------------------- */

static bool has_companion(const lab_cell *c)
{
    return strcmp(c->l->policy[c->policy].policy, "companion") == 0;
}

static bool haproxy_settings(lab_cell *c, int32_t k)
{
    const lab_scene *s = &c->l->scene[c->scene];
    lab_told told = c->l->policy[c->policy].told;
    ex_path socket = ex_path_join(lab_host_folder(c, k).text, "admin.sock");
    ex_text t = { 0 };
    int32_t i;

    if (strlen(socket.text) > SOCKET_MOST) {
        return lab_no(c, "%.200s is longer than the path of a socket may be (%d): choose a shorter --out", socket.text,
                      SOCKET_MOST);
    }
    ex_text_printf(&t, "global\n    maxconn 4000\n    nbthread 1\n"
                   "    stats socket \"unix@%s\" mode 600 level admin expose-fd listeners\n", socket.text);
    if (has_companion(c)) {
        ex_text_printf(&t, "    log 127.0.0.1:%d len 1024 format raw local0\n", (int)c->log_port[k]);
    }
    ex_text_printf(&t, "defaults\n    mode http\n%s    timeout connect 2s\n    timeout client 30s\n"
                   "    timeout server 30s\n    retries 3\n    option redispatch\nfrontend web\n"
                   "    bind 127.0.0.1:%d\n    default_backend farm\nbackend farm\n    balance leastconn\n",
                   has_companion(c) ? "    log global\n    option httplog\n" : "", (int)c->proxy_port[k]);
    for (i = 0; i < s->servers; i++) {
        ex_text_printf(&t, "    server s%d 127.0.0.1:%d weight %d check\n", (int)i, (int)c->port[i],
                       told == LAB_TOLD_NOTHING ? 100 : (int)weight(s, i, told, 256));
    }
    return put(c, k, "haproxy.cfg", &t);
}

static lab_arguments *companion_arguments(const lab_cell *c, int32_t k)
{
    ex_path folder = lab_host_folder(c, k);
    lab_arguments *a = lab_arguments_new();

    lab_add(a, "%s", c->l->companion);
    lab_add(a, "--socket=%s/admin.sock", folder.text);
    lab_add(a, "--backend=farm");
    lab_add(a, "--log=127.0.0.1:%d", (int)c->log_port[k]);
    lab_add(a, "--model=%s", c->l->model);
    lab_add(a, "--state=%s/state", folder.text);
    lab_add(a, "--seed=%llu", (unsigned long long)(c->l->seed + (uint64_t)c->repeat * 16 + (uint64_t)k));
    return a;
}

static bool takes_datagrams(int32_t port)
{
    struct sockaddr_in a;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

/* A port for log lines. The companion that is killed comes back to the same one, so it is none of those that the kernel
   deals out to whoever asks for any, and each cell begins to look elsewhere. 0: there are no others; it chooses. */
static int32_t log_port_find(int32_t k)
{
    enum { BELOW = 8192, PORTS = 8192, STEP = 509, TRIES = 64 };
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    int32_t first = 0, port, i;

    if (f && fscanf(f, "%" SCNd32, &first) != 1) first = 0;
    if (f) fclose(f);
    for (i = 0; i < TRIES && first > BELOW + PORTS + 1024; i++) {
        port = first - BELOW - 1 - (int32_t)(((long)getpid() * LAB_PROXIES + k + i * STEP) % PORTS);
        if (takes_datagrams(port)) return port;
    }
    return 0;
}

/* With the port for the log that it got. */
static bool companion_ready(lab_cell *c, int32_t k)
{
    lab_process *p = c->companion[k];

    do {
        if (!lab_hear(c, p)) return false;
        if (strncmp(p->line, "log ", 4) == 0 && !lab_port_of(c, p, &c->log_port[k])) return false;
    } while (strcmp(p->line, "ready") != 0);
    return true;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

/* HAProxy has a master where it is to be reloaded. */
static lab_arguments *host_arguments(const lab_cell *c, int32_t k, const char *program)
{
    const lab_scene *s = &c->l->scene[c->scene];
    ex_path folder = lab_host_folder(c, k);
    lab_arguments *a = lab_arguments_new();

    lab_add(a, "%s", program);
    if (s->host == LAB_NGINX) {
        lab_add(a, "-p");
        lab_add(a, "%s/", folder.text);
        lab_add(a, "-e");
        lab_add(a, "stderr");
        lab_add(a, "-c");
        lab_add(a, "nginx.conf");
    } else {
        if (s->part == LAB_LOSS) lab_add(a, "-W");
        lab_add(a, "-db");
        lab_add(a, "-f");
        lab_add(a, "%s/haproxy.cfg", folder.text);
    }
    return a;
}

bool lab_host_start(lab_cell *c, int32_t k)
{
    const lab_scene *s = &c->l->scene[c->scene];
    const char *name = lab_host_names[s->host];
    ex_path folder = lab_host_folder(c, k), program;

    if (!ex_folder_make(folder.text)) return lab_no(c, "%s cannot be made", folder.text);
    if (!find_program(name, &program)) return lab_no(c, "%s is not installed", name);
    if (s->host == LAB_HAPROXY && has_companion(c)) {
        c->log_port[k] = log_port_find(k);
        c->companion[k] = lab_start(c, "companion", companion_arguments(c, k), false);
        if (!c->companion[k] || !companion_ready(c, k)) return false;
    }
    c->proxy_port[k] = lab_free_port(&c->held[k]);
    if (!(s->host == LAB_NGINX ? nginx_settings(c, k) : haproxy_settings(c, k))) return false;
    c->host[k] = lab_start(c, name, host_arguments(c, k, program.text), true);
    return c->host[k] && lab_listens(c, c->host[k], c->proxy_port[k]);
}

/* ---- /proc ------------------------------------------------------------------------------------------------------- */

typedef struct entry {
    long pid, parent, group;
    double used_s;
} entry;

static bool read_entry(const char *name, entry *e)
{
    unsigned long user = 0, system = 0;
    char path[64], text[1024], *behind;
    double precise_ns = 0;
    size_t got;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%.20s/stat", name);
    f = *name >= '1' && *name <= '9' ? fopen(path, "r") : NULL;
    if (!f) return false;
    got = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[got] = '\0';
    behind = strrchr(text, ')'); /* of the name, which may hold anything */
    if (!behind || sscanf(behind + 1, " %*c %ld %ld %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &e->parent, &e->group,
                          &user, &system) != 4) {
        return false;
    }
    e->pid = strtol(name, NULL, 10);
    e->used_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    /* The same without its steps of ten milliseconds, where the kernel tells; all of these have one thread. */
    snprintf(path, sizeof path, "/proc/%.20s/schedstat", name);
    f = fopen(path, "r");
    if (f && fscanf(f, "%lf", &precise_ns) == 1) e->used_s = 1e-9 * precise_ns;
    if (f) fclose(f);
    return true;
}

void lab_host_used(const lab_cell *c, double *hosts_s, double *companions_s)
{
    DIR *d = opendir("/proc");
    struct dirent *at;
    entry e;
    int32_t k;

    *hosts_s = *companions_s = 0;
    while (d && (at = readdir(d)) != NULL) {
        if (!read_entry(at->d_name, &e)) continue;
        for (k = 0; k < LAB_PROXIES; k++) {
            if (c->host[k] && e.group == c->host[k]->master) *hosts_s += e.used_s;
            if (c->companion[k] && e.pid == c->companion[k]->pid) *companions_s += e.used_s;
        }
    }
    if (d) closedir(d);
}

/* One of the processes that the master has; 0: it has none. */
static pid_t worker_of(pid_t master)
{
    DIR *d = opendir("/proc");
    struct dirent *at;
    entry e;
    pid_t found = 0;

    while (d && !found && (at = readdir(d)) != NULL) {
        if (read_entry(at->d_name, &e) && e.parent == master) found = (pid_t)e.pid;
    }
    if (d) closedir(d);
    return found;
}

/* ---- what is done to them ---------------------------------------------------------------------------------------- */

static bool kill_worker(lab_cell *c, const lab_process *p)
{
    pid_t worker = worker_of(p->master);

    return (worker > 0 && kill(worker, SIGKILL) == 0) || lab_no(c, "%s: no worker to kill", p->name);
}

static bool restart(lab_cell *c, int32_t k)
{
    ex_path program;

    lab_end(c->host[k], SIGTERM);
    return find_program(c->host[k]->name, &program) &&
           lab_start_again(c, c->host[k], host_arguments(c, k, program.text));
}

/* A third of a second without one. */
static bool restart_companion(lab_cell *c, int32_t k)
{
    struct timespec t = { 0, 333000000 };

    if (!c->companion[k]) return true; /* the same hour for those who have none */
    lab_end(c->companion[k], SIGKILL);
    nanosleep(&t, NULL);
    return lab_start_again(c, c->companion[k], companion_arguments(c, k)) && companion_ready(c, k);
}

bool lab_host_do(lab_cell *c, lab_deed deed)
{
    bool nginx = c->l->scene[c->scene].host == LAB_NGINX, ok = true;
    int32_t k;

    if (deed == LAB_KILL_BACKEND) lab_end(c->backend, SIGKILL);
    for (k = 0; k < LAB_PROXIES && c->host[k] && ok; k++) {
        if (deed == LAB_RELOAD) ok = kill(c->host[k]->master, nginx ? SIGHUP : SIGUSR2) == 0;
        else if (deed == LAB_RESTART) ok = restart(c, k);
        else if (deed == LAB_KILL_WORKER) ok = kill_worker(c, c->host[k]);
        else if (deed == LAB_KILL_COMPANION) ok = restart_companion(c, k);
    }
    return ok || lab_no(c, "%s: cannot be done", lab_deed_names[deed]);
}
