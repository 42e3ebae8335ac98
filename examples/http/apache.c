/* apache.c - real Apache servers with PHP that computes, each under a CPU quota; see experiment.h

   A keeper starts them and waits for the other end of a pipe to close, which it does however the program ends. Then it
   kills whatever is in their cgroups, and takes cgroups and files away. Apache's own children outlive a killed Apache,
   so that nothing less would do. */

#define _GNU_SOURCE /* pipe2 */

#include "experiment.h"

#include "cgroups.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS = 3, PERIOD_US = 20000, WORK_MS = 5 };
static const double quota[SERVERS] = { 0.15, 0.15, 0.3 }; /* of one CPU */
#define OVERHEAD_MS 1.0                                   /* of a request, beside its work: Apache and PHP themselves */
#define LOAD 0.65

static const char modules[] = "/usr/lib/apache2/modules", binary[] = "/usr/sbin/apache2";

static struct {
    char folder[64], group[SERVERS][128], target[64];
    int32_t port[SERVERS];
    int pipe; /* the end whose closing ends the keeper; -1: there is none */
    pid_t keeper;
} it = { .pipe = -1 };

int32_t lab_apache_port(int32_t server)
{
    return it.port[server];
}

const char *lab_apache_target(void)
{
    return it.target;
}

static bool skip(lab_scene *s, const char *what, const char *why)
{
    snprintf(s->skipped, sizeof s->skipped, "%s%s%s", what, *why ? ": " : "", why);
    return false;
}

static void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- cgroups ----------------------------------------------------------------------------------------------------- */

static void groups_remove(void)
{
    int32_t k;

    for (k = 0; k < SERVERS; k++) {
        if (*it.group[k]) ex_cgroup_remove(it.group[k]);
        it.group[k][0] = '\0';
    }
}

static bool groups_make(lab_scene *s)
{
    const char *root = ex_cgroup_root();
    int32_t k;

    if (!root) return skip(s, "no cgroups with a CPU controller here", "");
    for (k = 0; k < SERVERS; k++) {
        snprintf(it.group[k], sizeof it.group[k], "%s/rllb-%ld-%d", root, (long)getpid(), (int)k);
        if (!ex_cgroup_make(it.group[k])) {
            skip(s, "no cgroup can be made", strerror(errno));
            it.group[k][0] = '\0';
            groups_remove();
            return false;
        }
        if (!ex_cgroup_quota(it.group[k], 0.5, PERIOD_US) || !ex_cgroup_quota(it.group[k], 0, PERIOD_US)) {
            skip(s, "cgroups here take no CPU quota", strerror(errno));
            groups_remove();
            return false;
        }
    }
    return true;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static bool php_module(char out[256])
{
    DIR *d = opendir(modules);
    struct dirent *e;
    bool found = false;

    while (d && !found && (e = readdir(d)) != NULL) {
        found = strncmp(e->d_name, "libphp", 6) == 0;
        if (found) snprintf(out, 256, "%s/%.100s", modules, e->d_name);
    }
    if (d) closedir(d);
    return found;
}

static bool write_file(const char *name, const ex_text *text)
{
    ex_path path = ex_path_join(it.folder, name);
    return ex_text_write(text, path.text) && chmod(path.text, 0644) == 0;
}

/* A page that computes for as long as X-Work says, by so many rounds a millisecond; without that it says how many
   rounds it has in a millisecond now. */
static bool write_page(int32_t k)
{
    static const char page[] =
        "<?php\n"
        "header('X-Server: s%d');\n"
        "$x = 0;\n"
        "if (!isset($_GET['per_ms'])) {\n"
        "    $n = 0;\n"
        "    $begin = hrtime(true);\n"
        "    do {\n"
        "        for ($i = 1000; $i > 0; $i--) $x = ($x * 31 + $i) & 0xffffff;\n"
        "        $n += 1000;\n"
        "    } while (($passed = hrtime(true) - $begin) < 50000000);\n"
        "    echo (int)($n * 1e6 / $passed);\n"
        "    exit;\n"
        "}\n"
        "$work = (float)($_SERVER['HTTP_X_WORK'] ?? 1);\n"
        "for ($i = (int)($work * (float)$_GET['per_ms']); $i > 0; $i--) $x = ($x * 31 + $i) & 0xffffff;\n"
        "echo $x;\n";
    ex_text text = { 0 };
    char name[32];
    bool ok;

    snprintf(name, sizeof name, "%d/work.php", (int)k);
    ex_text_printf(&text, page, (int)k);
    ok = write_file(name, &text);
    ex_text_free(&text);
    return ok;
}

/* One worker serves one connection at a time, so that connections are not kept: an idle one would count as busy. */
static bool write_settings(int32_t k, const char *php)
{
    static const char *const users[] = { "www-data", "apache", "nobody" };
    static const char *const needed[] = { "mpm_prefork", "authz_core", "status" };
    ex_text t = { 0 };
    char name[32];
    int32_t i;
    bool ok;

    for (i = 0; i < EX_COUNT(users) - 1 && !getpwnam(users[i]); i++) {}
    snprintf(name, sizeof name, "%d/apache.conf", (int)k);
    ex_text_printf(&t, "ServerRoot \"%s/%d\"\nServerName 127.0.0.1\nListen 127.0.0.1:%d\nPidFile \"%s/%d/pid\"\n",
                   it.folder, (int)k, (int)it.port[k], it.folder, (int)k);
    ex_text_printf(&t, "Mutex \"file:%s/%d\"\nErrorLog \"%s/%d/error\"\nUser %s\n", it.folder, (int)k, it.folder,
                   (int)k, users[i]);
    for (i = 0; i < EX_COUNT(needed); i++) {
        ex_text_printf(&t, "LoadModule %s_module %s/mod_%s.so\n", needed[i], modules, needed[i]);
    }
    ex_text_printf(&t, "LoadModule %s %s\n", strstr(php, "libphp7") ? "php7_module" : "php_module", php);
    ex_text_printf(&t, "StartServers 8\nMinSpareServers 4\nMaxSpareServers 32\nServerLimit 32\nMaxRequestWorkers 32\n"
                   "ListenBacklog 128\nKeepAlive Off\nDocumentRoot \"%s/%d\"\n", it.folder, (int)k);
    ex_text_printf(&t, "<FilesMatch \"\\.php$\">\nSetHandler application/x-httpd-php\n</FilesMatch>\n"
                   "<Location \"/server-status\">\nSetHandler server-status\n</Location>\n");
    ok = write_file(name, &t);
    ex_text_free(&t);
    return ok;
}

static bool files_make(lab_scene *s, const char *php)
{
    const char *base = getenv("TMPDIR");
    char name[80];
    int32_t k;

    snprintf(it.folder, sizeof it.folder, "%.40s/rllb-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(it.folder)) {
        skip(s, it.folder, strerror(errno));
        it.folder[0] = '\0';
        return false;
    }
    /* Apache gives up its rights and must still get here. */
    if (chmod(it.folder, 0755) != 0) return skip(s, it.folder, strerror(errno));
    for (k = 0; k < SERVERS; k++) {
        snprintf(name, sizeof name, "%s/%d", it.folder, (int)k);
        if (mkdir(name, 0755) != 0 || !write_page(k) || !write_settings(k, php)) {
            return skip(s, name, strerror(errno));
        }
    }
    return true;
}

static void files_remove(void)
{
    int32_t k;

    for (k = 0; k < SERVERS && *it.folder; k++) {
        char folder[80];
        struct dirent *e;
        DIR *d;
        snprintf(folder, sizeof folder, "%s/%d", it.folder, (int)k);
        d = opendir(folder);
        while (d && (e = readdir(d)) != NULL) {
            if (*e->d_name != '.') unlink(ex_path_join(folder, e->d_name).text);
        }
        if (d) closedir(d);
        rmdir(folder);
    }
    if (*it.folder) rmdir(it.folder);
    it.folder[0] = '\0';
}

/* ---- the keeper -------------------------------------------------------------------------------------------------- */

/* In a process of its own, which becomes Apache. */
static void serve(int32_t k)
{
    char settings[96];
    int nothing = open("/dev/null", O_RDWR);

    if (!ex_cgroup_enter(it.group[k])) _exit(126);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    snprintf(settings, sizeof settings, "%s/%d/apache.conf", it.folder, (int)k);
    execl(binary, binary, "-f", settings, "-D", "FOREGROUND", (char *)NULL);
    _exit(127);
}

static void keep(int wait_for)
{
    int32_t k;
    int fd;
    char byte;

    setsid(); /* Ctrl-C is not for the keeper: what it means for it is the pipe's end */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    for (fd = 3; fd < 1024; fd++) {
        if (fd != wait_for) close(fd); /* the lock of the output folder is the program's, not ours */
    }
    for (k = 0; k < SERVERS; k++) {
        if (fork() == 0) serve(k);
    }
    while (read(wait_for, &byte, 1) < 0 && errno == EINTR) {}
    groups_remove();
    files_remove();
    _exit(0);
}

void lab_apache_stop(void)
{
    if (it.pipe < 0) return;
    close(it.pipe);
    it.pipe = -1;
    while (waitpid(it.keeper, NULL, 0) < 0 && errno == EINTR) {}
    memset(it.group, 0, sizeof it.group);
    it.folder[0] = '\0';
}

static bool keeper_start(lab_scene *s)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) return skip(s, "no pipe", strerror(errno));
    fflush(NULL);
    it.keeper = fork();
    if (it.keeper == 0) keep(ends[0]);
    close(ends[0]);
    if (it.keeper > 0) {
        it.pipe = ends[1];
        return true;
    }
    close(ends[1]);
    return skip(s, "no process", strerror(errno));
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

int32_t lab_free_port(int *held)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    int32_t port = 0;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &size) == 0) {
        port = ntohs(a.sin_port);
    }
    if (held) *held = fd;
    else if (fd >= 0) close(fd);
    return port;
}

/* The body of an answer with status 200, within a second. */
static bool ask(int32_t port, const char *target, char *out, size_t size)
{
    struct timeval patience = { 1, 0 };
    struct sockaddr_in a;
    char text[2048];
    size_t used = 0;
    ssize_t got;
    const char *body;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) return false;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", target);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0 || write(fd, text, strlen(text)) < 0) {
        close(fd);
        return false;
    }
    while (used < sizeof text - 1 && (got = read(fd, text + used, sizeof text - 1 - used)) > 0) used += (size_t)got;
    close(fd);
    text[used] = '\0';
    body = strstr(text, "\r\n\r\n");
    if (!body || strncmp(text + 8, " 200", 4) != 0) return false;
    snprintf(out, size, "%.*s", (int)(size - 1), body + 4);
    return true;
}

/* A process that keeps one server computing until it is killed; -1: none. */
static pid_t neighbour_start(int32_t server)
{
    char text[256];
    pid_t parent = getpid(), pid;

    fflush(NULL);
    pid = fork();
    if (pid != 0) return pid;
    while (getppid() == parent) {
        if (!ask(it.port[server], "/work.php", text, sizeof text)) nap_ms(10);
    }
    _exit(0);
}

static bool answers(lab_scene *s, int32_t server)
{
    double rounds;
    char text[256];
    bool there = false;
    int32_t tries;

    for (tries = 0; tries < 100 && !there && !ex_interrupted(); tries++) {
        there = ask(it.port[server], "/server-status?auto", text, sizeof text);
        if (!there) nap_ms(50);
    }
    if (!there) return skip(s, "Apache does not serve here", "");
    if (!ask(it.port[server], "/work.php", text, sizeof text) || !ex_parse_double(text, &rounds) || rounds < 1) {
        return skip(s, "PHP does not serve here", "");
    }
    return true;
}

/* The most rounds in a millisecond that a server has beside another one that computes: hardware threads share a core,
   and what one alone can do is more than all can do together. */
static bool calibrate(lab_scene *s)
{
    double most = 0, rounds = 0;
    char text[256];
    int32_t k, tries;

    for (k = 0; k < SERVERS; k++) {
        if (!answers(s, k)) return false;
    }
    for (k = 0; k < SERVERS; k++) {
        pid_t neighbour = neighbour_start((k + 1) % SERVERS);
        nap_ms(20);
        for (tries = 0; tries < 3; tries++) {
            if (ask(it.port[k], "/work.php", text, sizeof text) && ex_parse_double(text, &rounds) && rounds > most) {
                most = rounds;
            }
        }
        if (neighbour > 0) {
            kill(neighbour, SIGKILL);
            while (waitpid(neighbour, NULL, 0) < 0 && errno == EINTR) {}
        }
    }
    if (most < 1) return skip(s, "PHP does not serve here", "");
    snprintf(it.target, sizeof it.target, "/work.php?per_ms=%.0f", most);
    return true;
}

bool lab_apache_start(lab *l, lab_scene *s)
{
    char php[256];
    double all = 0;
    int32_t k;

    (void)l;
    if (geteuid() != 0) return skip(s, "CPU quotas need root", "");
    if (access(binary, X_OK) != 0 || !php_module(php)) {
        return skip(s, "Apache with PHP is not installed (apache2, libapache2-mod-php)", "");
    }
    for (k = 0; k < SERVERS; k++) it.port[k] = lab_free_port(NULL);
    if (!groups_make(s)) return false;
    if (!files_make(s, php) || !keeper_start(s)) {
        groups_remove();
        files_remove();
        return false;
    }
    for (k = 0; k < SERVERS; k++) {
        lab_server *v = &s->server[s->servers++];
        v->slots = 1;
        v->speed = 1;
        v->before = v->truly = quota[k];
        all += quota[k];
    }
    if (!calibrate(s)) {
        lab_apache_stop();
        return false;
    }
    for (k = 0; k < SERVERS; k++) {
        if (!ex_cgroup_quota(it.group[k], quota[k], PERIOD_US)) {
            lab_apache_stop();
            return skip(s, "a quota is not taken", strerror(errno));
        }
    }
    s->work_ms = WORK_MS;
    s->exponential = true;
    s->rate = LOAD * all * 1000 / (WORK_MS + OVERHEAD_MS);
    return true;
}
