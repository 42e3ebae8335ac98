/* states.c - see states.h */

#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L

#include "states.h"

#include "rllb.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 2, CAPACITY_MOST = 65536 };
#define ORDER 0x01020304u /* how this machine puts bytes */
#define BYTES_MOST ((size_t)1 << 30)
#define CLOCK_MOST 1e12
#define TURN_MOST ((uint64_t)1 << 62)

/* Then the names, EX_STATE_NAME_MOST bytes each, the block, and what more there is. No gaps. */
typedef struct head {
    char magic[8];
    uint32_t order, version;
    int32_t rllb, capacity;
    double clock_s;
    uint64_t form, turn, block_bytes, more_bytes, sum;
    char program[16], policy[32], site[128];
} head;

static const char magic[8] = { 'r', 'l', 'l', 'b', ' ', 's', 't', '\n' };

/* FNV-1a, over eight bytes at a time where there are as many. */
static uint64_t sum_of(uint64_t sum, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t word;

    for (; size >= sizeof word; at += sizeof word, size -= sizeof word) {
        memcpy(&word, at, sizeof word);
        sum = (sum ^ word) * 0x100000001b3u;
        sum ^= sum >> 29;
    }
    for (; size; size--) sum = (sum ^ *at++) * 0x100000001b3u;
    return sum;
}

static uint64_t state_sum(const head *h, const void *rest, size_t size)
{
    head own = *h;

    own.sum = 0;
    return sum_of(sum_of(0xcbf29ce484222325u, &own, sizeof own), rest, size);
}

/* ---- to write -------------------------------------------------------------------------------------------------- */

/* Workers may be counting meanwhile, so whole words are read, and from the end: ends of requests lie behind begins, so
   nobody is seen to end what he did not begin. Where AddressSanitizer is at work, the gaps in the block that nobody may
   touch are copied all the same. */
#if defined(__GNUC__)
typedef uint64_t __attribute__((may_alias)) shared_word;

__attribute__((no_sanitize_address))
static void block_copy(void *to, const void *from, size_t size)
{
    const volatile char *tail = from;
    const shared_word *in = from;
    shared_word *out = to;
    size_t i;

    for (i = size; i > size / sizeof *in * sizeof *in; i--) ((char *)to)[i - 1] = tail[i - 1];
    for (i = size / sizeof *in; i > 0; i--) out[i - 1] = __atomic_load_n(&in[i - 1], __ATOMIC_ACQUIRE);
}
#else
static void block_copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}
#endif

static void names_copy(char *to, const ex_state *s)
{
    int32_t j;

    for (j = 0; j < s->capacity; j++) {
        const char *name = s->names + (size_t)j * s->stride;
        memcpy(to + (size_t)j * EX_STATE_NAME_MOST, name, strnlen(name, EX_STATE_NAME_MOST - 1));
    }
}

void *ex_state_pack(const ex_state *s, size_t *size)
{
    size_t names = (size_t)s->capacity * EX_STATE_NAME_MOST, rest = names + s->block_bytes + s->more_bytes;
    char *bytes = calloc(1, sizeof(head) + rest), *at = bytes;
    head h;

    if (!bytes) return NULL;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, magic, sizeof magic);
    h.order = ORDER;
    h.version = VERSION;
    h.rllb = rllb_version();
    h.capacity = s->capacity;
    h.clock_s = s->clock_s;
    h.form = s->form;
    h.turn = s->turn;
    h.block_bytes = s->block_bytes;
    h.more_bytes = s->more_bytes;
    memcpy(h.program, s->program, sizeof h.program);
    memcpy(h.policy, s->policy, sizeof h.policy);
    memcpy(h.site, s->site, sizeof h.site);
    names_copy(at += sizeof h, s);
    block_copy(at += names, s->block, s->block_bytes);
    if (s->more_bytes) memcpy(at + s->block_bytes, s->more, s->more_bytes);
    h.sum = state_sum(&h, bytes + sizeof h, rest);
    memcpy(bytes, &h, sizeof h);
    *size = sizeof h + rest;
    return bytes;
}

int ex_state_write(const char *path, const void *bytes, size_t size)
{
    return ex_file_replace(path, bytes, size, 0600);
}

/* ---- to read --------------------------------------------------------------------------------------------------- */

/* No file: *fd is -1 and nothing is wrong. Not waited for, should it be a pipe. */
static const char *file_open(const char *path, int *fd, struct stat *s)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return errno == ENOENT || errno == ENOTDIR ? NULL : "cannot be read";
    return fstat(*fd, s) == 0 && S_ISREG(s->st_mode) ? NULL : "is no file";
}

/* Of the open file: what its name leads to may change. */
static const char *file_rights(const struct stat *s, uid_t owner)
{
    if (s->st_mode & S_IWOTH) return "may be written by everybody";
    if (s->st_uid != 0 && s->st_uid != geteuid() && s->st_uid != owner) return "belongs to somebody else";
    return (uintmax_t)s->st_size > BYTES_MOST ? "is no state file" : NULL;
}

static bool bytes_read(int fd, void *to, size_t size)
{
    char *at = to;

    while (size > 0) {
        ssize_t got = read(fd, at, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static const char *head_read(int fd, size_t size, head *h)
{
    if (size < sizeof *h || !bytes_read(fd, h, sizeof *h)) return "is no state file";
    if (memcmp(h->magic, magic, sizeof magic) != 0) return "is no state file";
    return NULL;
}

/* Where everything lies. */
static const char *file_lay_out(const head *h, size_t size, ex_state *out)
{
    size_t rest = size - sizeof *h, names;

    if (h->order != ORDER || h->version != VERSION || h->rllb != rllb_version()) {
        return "was written by another version or machine";
    }
    if (h->capacity < 1 || h->capacity > CAPACITY_MOST) return "is damaged";
    if (!(fabs(h->clock_s) < CLOCK_MOST)) return "is damaged";
    names = (size_t)h->capacity * EX_STATE_NAME_MOST;
    if (names > rest || h->block_bytes > rest - names || h->more_bytes != rest - names - h->block_bytes) {
        return "is cut off";
    }
    memset(out, 0, sizeof *out);
    out->form = h->form;
    out->turn = h->turn;
    out->capacity = h->capacity;
    out->clock_s = h->clock_s;
    out->stride = EX_STATE_NAME_MOST;
    out->block_bytes = (size_t)h->block_bytes;
    out->more_bytes = (size_t)h->more_bytes;
    return NULL;
}

static const char *file_take(int fd, const head *h, ex_text *file, ex_state *out)
{
    size_t names = (size_t)h->capacity * EX_STATE_NAME_MOST, rest = names + out->block_bytes + out->more_bytes;
    int32_t j;

    file->data = malloc(rest);
    file->room = file->size = rest;
    if (!file->data) return "takes more memory than there is";
    if (!bytes_read(fd, file->data, rest)) return "cannot be read";
    if (h->sum != state_sum(h, file->data, rest)) return "is damaged";
    out->names = file->data;
    out->block = file->data + names;
    out->more = file->data + names + out->block_bytes;
    for (j = 0; j < h->capacity; j++) {
        if (out->names[(size_t)j * EX_STATE_NAME_MOST + EX_STATE_NAME_MOST - 1]) return "is damaged";
    }
    return NULL;
}

static const char *whose(const head *h, const ex_state *wanted)
{
    if (memcmp(h->program, wanted->program, sizeof h->program) != 0) return "is of another program";
    if (memcmp(h->site, wanted->site, sizeof h->site) != 0) return "is of another site";
    if (memcmp(h->policy, wanted->policy, sizeof h->policy) != 0) return "is of another policy";
    return h->form != wanted->form ? "is of other settings or another model" : NULL;
}

bool ex_state_read(const char *path, const ex_state *wanted, ex_text *file, ex_state *out, const char **fault)
{
    struct stat s;
    head h;
    int fd;

    *fault = file_open(path, &fd, &s);
    if (fd < 0) return false;
    if (!*fault) *fault = file_rights(&s, wanted->owner);
    if (!*fault) *fault = head_read(fd, (size_t)s.st_size, &h);
    if (!*fault) *fault = file_lay_out(&h, (size_t)s.st_size, out);
    if (!*fault) *fault = file_take(fd, &h, file, out);
    if (!*fault) *fault = whose(&h, wanted);
    close(fd);
    if (*fault) ex_text_free(file);
    return !*fault;
}

/* The file is replaced, so it does not matter whose it was; but nothing is replaced that is no state. */
bool ex_state_turn(const char *path, uint64_t *turn, const char **fault)
{
    struct stat s;
    head h;
    int fd;

    *turn = 0;
    *fault = file_open(path, &fd, &s);
    if (fd < 0) return !*fault;
    if (!*fault && s.st_size > 0) {
        *fault = head_read(fd, (size_t)s.st_size, &h);
        if (!*fault && h.turn <= TURN_MOST) *turn = h.turn;
    }
    close(fd);
    return !*fault;
}
