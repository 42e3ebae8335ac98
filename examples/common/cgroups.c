/* cgroups.c - see cgroups.h */

#define _POSIX_C_SOURCE 200809L

#include "cgroups.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"

#define ROOT_2 "/sys/fs/cgroup"

static bool is_version_2(void)
{
    return access(ROOT_2 "/cgroup.controllers", F_OK) == 0;
}

const char *ex_cgroup_root(void)
{
    static const char *const roots_1[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct" };
    int32_t i;

    if (is_version_2()) return ROOT_2;
    for (i = 0; i < EX_COUNT(roots_1); i++) {
        if (access(ex_path_join(roots_1[i], "cgroup.procs").text, F_OK) == 0) return roots_1[i];
    }
    return NULL;
}

/* Kernel files take one write, and nothing of it is kept. */
static bool put(const char *group, const char *name, const char *text)
{
    int fd = open(ex_path_join(group, name).text, O_WRONLY | O_CLOEXEC);
    bool ok;

    if (fd < 0) return false;
    ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    return close(fd) == 0 && ok;
}

bool ex_cgroup_make(const char *group)
{
    if (is_version_2()) put(ROOT_2, "cgroup.subtree_control", "+cpu");
    return mkdir(group, 0755) == 0;
}

bool ex_cgroup_quota(const char *group, double cpus, int32_t period_us)
{
    int quota_us = (int)(cpus * period_us);
    char text[64];

    if (is_version_2()) {
        if (cpus > 0) snprintf(text, sizeof text, "%d %d", quota_us, (int)period_us);
        else snprintf(text, sizeof text, "max %d", (int)period_us);
        return put(group, "cpu.max", text);
    }
    snprintf(text, sizeof text, "%d", (int)period_us);
    if (!put(group, "cpu.cfs_period_us", text)) return false;
    snprintf(text, sizeof text, "%d", cpus > 0 ? quota_us : -1);
    return put(group, "cpu.cfs_quota_us", text);
}

bool ex_cgroup_enter(const char *group)
{
    char pid[32];

    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    return put(group, "cgroup.procs", pid);
}

static void kill_all(const char *group)
{
    FILE *f = fopen(ex_path_join(group, "cgroup.procs").text, "r");
    long pid;

    while (f && fscanf(f, "%ld", &pid) == 1) {
        if (pid > 0) kill((pid_t)pid, SIGKILL); /* 0: it lives where its number is not known */
    }
    if (f) fclose(f);
}

void ex_cgroup_remove(const char *group)
{
    static const struct timespec nap = { 0, 10000000 };
    int32_t tries;

    for (tries = 0; tries < 300 && access(group, F_OK) == 0; tries++) {
        kill_all(group);
        if (rmdir(group) == 0) return;
        nanosleep(&nap, NULL);
    }
}
