/* pool.c - see pool.h */

#define _GNU_SOURCE /* for the processors that this process may use, which a batch system narrows */
#define _DEFAULT_SOURCE

#include "pool.h"

#include <errno.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "terminal.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

typedef struct ex_pool_slot {
    pid_t pid; /* 0: free */
    int32_t run;
    void *mail;
} slot;

static int32_t processors(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        return n > 0 && n < 4096 ? (int32_t)n : 1;
    }
}

static bool pool_open(ex_pool *p)
{
    int32_t i;

    if (p->jobs <= 0) p->jobs = processors();
    if (p->jobs > p->runs) p->jobs = p->runs;
    p->slots = NULL;
    p->shared = NULL;
    if (p->jobs < 1) return true;
    p->slot_bytes = (p->mail_bytes + 63) / 64 * 64;
    p->slots = calloc((size_t)p->jobs, sizeof *p->slots);
    p->shared = mmap(NULL, p->slot_bytes * (size_t)p->jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!p->slots || p->shared == MAP_FAILED) {
        if (p->shared == MAP_FAILED) p->shared = NULL;
        ex_fail("no memory for %d runs at a time", (int)p->jobs);
        return false;
    }
    for (i = 0; i < p->jobs; i++) p->slots[i].mail = p->shared + (size_t)i * p->slot_bytes;
    return true;
}

static bool take(ex_pool *p, slot *at, int status)
{
    int killer = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

    at->pid = 0;
    return p->take(p->self, at->run, at->mail, WIFEXITED(status) ? WEXITSTATUS(status) : -1, killer);
}

/* Ends what still runs, process by process. Those that are asked to end have something to say. */
static void pool_close(ex_pool *p)
{
    int32_t i;

    for (i = 0; p->slots && i < p->jobs; i++) {
        if (p->slots[i].pid > 0) kill(p->slots[i].pid, p->stop_signal ? p->stop_signal : SIGKILL);
    }
    for (i = 0; p->slots && i < p->jobs; i++) {
        int status = 0;
        if (p->slots[i].pid <= 0) continue;
        while (waitpid(p->slots[i].pid, &status, 0) < 0 && errno == EINTR) {}
        if (p->stop_signal) take(p, &p->slots[i], status);
    }
    if (p->shared) munmap(p->shared, p->slot_bytes * (size_t)p->jobs);
    free(p->slots);
    p->slots = NULL;
    p->shared = NULL;
}

/* Ctrl-C reaches all processes of a terminal; what it means is the parent's business. One that is not to be asked to
   end has no use for the parent's way of catching that. */
static void child(ex_pool *p, const slot *at, pid_t parent)
{
    signal(SIGINT, SIG_IGN);
    if (!p->stop_signal) signal(SIGTERM, SIG_DFL);
    if (!p->stop_signal) signal(SIGHUP, SIG_DFL);
    _exit(p->run(p->self, at->run, at->mail, parent));
}

static bool start_one(ex_pool *p, slot *at)
{
    pid_t parent = getpid();

    at->run = p->next(p->self);
    if (at->run < 0) return true;
    memset(at->mail, 0, p->mail_bytes);
    fflush(NULL); /* else both would write what waits */
    at->pid = fork();
    if (at->pid == 0) child(p, at, parent);
    if (at->pid > 0) return true;
    at->pid = 0;
    ex_fail("cannot start a process: %s", strerror(errno));
    return false;
}

static bool pool_loop(ex_pool *p)
{
    const struct timespec while_ = { 0, 5000000 };

    for (;;) {
        bool moved = false;
        int32_t i, busy = 0;
        for (i = 0; i < p->jobs; i++) {
            slot *at = &p->slots[i];
            int status;
            if (at->pid > 0) {
                pid_t got = waitpid(at->pid, &status, WNOHANG);
                if (got == 0 || (got < 0 && errno == EINTR)) {
                    busy++;
                    continue;
                }
                moved = true;
                if (!take(p, at, status)) return false;
            }
            if (ex_interrupted()) continue;
            if (!start_one(p, at)) return false;
            busy += at->pid > 0;
        }
        if (busy == 0 || ex_interrupted()) return true;
        p->show(p->self);
        if (!moved) nanosleep(&while_, NULL);
    }
}

bool ex_pool_work(ex_pool *p)
{
    bool ok = pool_open(p) && pool_loop(p);

    pool_close(p);
    return ok;
}

int32_t ex_pool_look(const ex_pool *p, int32_t which, const void **mail)
{
    if (!p->slots || which < 0 || which >= p->jobs || p->slots[which].pid <= 0) return -1;
    *mail = p->slots[which].mail;
    return p->slots[which].run;
}
