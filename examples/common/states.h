/* states.h - what a balancer learned, in a file, from one life of a program to the next

   The file holds the block that a balancer's workers share, the names of its servers by index, and what more the
   program wants to keep, behind a head with a check sum. It is of use where it fits: the same program, policy and site,
   the same version of rllb on the same kind of machine, the same layout of the block; whole; and of nobody who had no
   right to write it. The block holds times: whoever goes on from it lets the balancer's clock go on at clock_s.

       read     ex_state_read; the names and the block into place; rllb_balancer_create with `join`; then
                rllb_balancer_resync for every worker: what was in flight when the file was written is given up
       write    ex_state_pack, ex_state_write. A keeper may do so while workers serve

   Nothing here prints. */

#ifndef EX_STATES_H
#define EX_STATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "files.h"

enum { EX_STATE_NAME_MOST = 128 }; /* bytes of a name, its end included */

typedef struct ex_state {
    char program[16], policy[32], site[128]; /* whose it is; what is not used of them is zero */
    uint64_t form;                           /* of what else must be the same: a hash, or 0 */
    uint64_t turn;                           /* of several that write one file the greatest has it, see ex_state_turn */
    uid_t owner;                             /* to read: whom the file may belong to, besides root and the reader */
    int32_t capacity;                        /* how many indices */
    double clock_s;                          /* the balancer's */
    const char *names;                       /* of index j at names + j * stride; empty: nobody has it */
    size_t stride;
    const void *block, *more;
    size_t block_bytes, more_bytes;
} ex_state;

/* All of it as bytes, to be freed. NULL: no memory. */
void *ex_state_pack(const ex_state *s, size_t *size);

/* What lies there, if it is of wanted's program, policy, site and form: *out points into *file, which must be empty and
   is the caller's to free. False: *fault says why it is not to be used ("is damaged"), NULL where there is no file. */
bool ex_state_read(const char *path, const ex_state *wanted, ex_text *file, ex_state *out, const char **fault);

/* Whose turn the file at that place is; 0 where there is none. False: *fault says why nobody should write there. */
bool ex_state_turn(const char *path, uint64_t *turn, const char **fault);

/* Whole or not at all, for its owner only. Does not wait for the disk: after a power cut the file may be the one
   before, or one that is not whole, which is then not used. 0, or the errno. */
int ex_state_write(const char *path, const void *bytes, size_t size);

#endif
