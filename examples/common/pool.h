/* pool.h - many runs, several at a time, each in a process of its own

   Runs are numbers; what they are, the caller knows. A run tells its parent what it has to say through its mail, memory
   that both share: results do not depend on how many run at once, nor on the order in which they end. */

#ifndef EX_POOL_H
#define EX_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ex_pool {
    void *self;        /* handed to all of these */
    int32_t jobs;      /* at a time; 0: one for every processor this process may use */
    int32_t runs;      /* how many there are at most: no more slots than that */
    size_t mail_bytes; /* of one run */
    int stop_signal;   /* ends what still runs after an interrupt or a failure; 0: SIGKILL, and nothing is taken */
    int32_t (*next)(void *self); /* the next one to start; -1: none now */
    /* In a process of its own, with its mail all zero; answers the exit status. It should look whether getppid() is
       still `parent` now and then: nobody would take the result of one whose parent is gone. */
    int (*run)(void *self, int32_t run, void *mail, pid_t parent);
    /* It has ended with that exit status, or, killer not 0, by that signal. False: going on makes no sense. */
    bool (*take)(void *self, int32_t run, const void *mail, int status, int killer);
    void (*show)(void *self); /* every few milliseconds */

    struct ex_pool_slot *slots; /* the pool's own from here on */
    unsigned char *shared;
    size_t slot_bytes;
} ex_pool;

/* Until all runs are over, or ex_interrupted(). False, and said why: no memory, no process, or take said so. */
bool ex_pool_work(ex_pool *p);
/* For show: which run goes on in a slot (0 ... jobs - 1), and its mail; -1: none. */
int32_t ex_pool_look(const ex_pool *p, int32_t which, const void **mail);

#endif
