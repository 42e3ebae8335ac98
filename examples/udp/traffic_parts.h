/* traffic_parts.h - what the parts of traffic know of each other

   traffic.c        settings, addresses, main
   traffic_count.c  what is in a datagram, which of them came, after how long; what that looks like; --merge
   traffic_send.c   the generator
   traffic_sink.c   the sink, whose clients receive, work and answer */

#ifndef UT_TRAFFIC_PARTS_H
#define UT_TRAFFIC_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "data.h"
#include "files.h"
#include "options.h"
#include "terminal.h"

enum {
    UT_SIZE_LEAST = 10,  /* of a datagram: the short header */
    UT_SIZE_FULL = 16,   /* from here on the header is whole */
    UT_SIZE_MOST = 1472,
    UT_SENDERS_MOST = 65536,
    UT_CALL = 64         /* datagrams that one system call takes */
};

/* ---- settings ---------------------------------------------------------------------------------------------------- */

typedef struct ut_settings {
    const ex_program *program;
    const char *to, *sink, *merge, *trace, *size, *host, *serve, *names, *out;
    int32_t arrivals, senders, sender_from, queue, buffer_bytes;
    int64_t count;
    double rate, duration_s, life_s, linger_s, work_us, idle_s, watch_s, every_s;
    bool replies, spin, echo, cpu, quiet, gro;
    uint64_t seed;
} ut_settings;

extern ut_settings ut_set;
extern const char *const ut_arrivals_names[];

typedef struct ut_place {
    struct sockaddr_storage address;
    socklen_t size;
} ut_place;

/* "10.0.0.5:5005", "[::1]:5005", "name:5005". EX_GO_ON, or EX_USAGE: said. */
int ut_place_of(const char *option, const char *text, ut_place *out);
/* Where a socket is bound, in such words. */
void ut_name_of(int fd, char text[64]);
/* The next of "A,B,C"; *at is NULL after the last. False: it is empty or too long. */
bool ut_name_take(const char **at, char *name, size_t room);
/* As many sockets as may be had, and timers as exact as they go. */
void ut_prepare(void);

/* Each from beginning to end; the status to leave with, said if it is not well. */
int ut_send(void);
int ut_receive(void);
int ut_merge(void);

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

uint64_t ut_now_ns(void); /* of the clock that all share */

typedef struct ut_stamp {
    uint32_t sender, sequence;
    uint64_t at_ns; /* when it was meant to go out */
    bool damaged;
} ut_stamp;

void ut_stamp_write(const ut_stamp *s, unsigned char *to, int32_t size);

/* ---- which came, and after how long ------------------------------------------------------------------------------ */

/* Which numbers of each sender were there. */
typedef struct ut_books {
    struct ut_book *of; /* [UT_SENDERS_MOST] */
    size_t bytes;
} ut_books;

bool ut_books_open(ut_books *b); /* false: said */
void ut_books_close(ut_books *b);
/* 1: for the first time, 0: again, -1: it cannot be. */
int32_t ut_books_mark(ut_books *b, uint32_t sender, uint32_t number);
/* All that are there, and all that could be below the highest of each. */
uint64_t ut_books_count(const ut_books *b, uint64_t *most);

/* Counts of times by size: exact to the nanosecond below 256, then to 1 in 128; up to 18 minutes. */
enum { UT_STEPS = 128, UT_OCTAVES = 32, UT_CELLS = 256 + UT_OCTAVES * UT_STEPS };

typedef struct ut_spread {
    uint64_t cell[UT_CELLS], count, most;
    double sum;
} ut_spread;

void ut_spread_add(ut_spread *s, uint64_t ns);
double ut_spread_ms(const ut_spread *s, double q); /* NaN if there is nothing */

/* What became of datagrams, by the time they were meant to go out: who is slow reads late, so that by the time of
   reading it would seem to get less than it does. */
typedef struct ut_moments {
    struct ut_moment *of;
    uint64_t first, room; /* intervals of every_s since the clock began */
} ut_moments;

#define UT_COUNTS(X)                                                                                                \
    X(received) X(unique) X(duplicates) X(reordered) X(damaged) X(strangers) X(turned_away) X(echoed) X(bytes)      \
    X(bytes_out)

typedef struct ut_tally {
#define UT_FIELD(name) uint64_t name;
    UT_COUNTS(UT_FIELD)
#undef UT_FIELD
    ut_spread delay;
} ut_tally;

void ut_tally_merge(ut_tally *t, const ut_tally *from);

typedef struct ut_client {
    char name[32], address[64];
    int fd;
    uint64_t *next; /* [UT_SENDERS_MOST] one above the highest number that it had of a sender */
    ut_tally all, now; /* now: since the last row; all: up to there */
    ut_spread watch; /* since the last line of --watch */
    ut_moments sent_at;
    struct ut_held *held; /* a ring of what is worked on or waits, in the order in which it will be done */
    int32_t held_room, held_first, held_count;
} ut_client;

/* True: it is one of ours, whole, and came for the first time or again: it counts. */
bool ut_client_take(ut_client *c, ut_books *seen, const unsigned char *bytes, size_t size, uint64_t now, ut_stamp *s);
void ut_client_delay(ut_client *c, const ut_stamp *s, uint64_t now);

/* ---- what that looks like ---------------------------------------------------------------------------------------- */

void ut_row_times(ex_csv *csv, const ut_spread *s); /* the last six columns of seconds.csv, and the end of the row */
void ut_json_begin(ex_json *j, const char *role);
void ut_json_spread(ex_json *j, const char *key, const ut_spread *s);
void ut_json_tally(ex_json *j, const ut_tally *t, uint64_t dropped);
void ut_table_heading(ex_table *t, const char *first, const char *second);
void ut_table_times(ex_table *t, const ut_spread *s); /* to the end of the row */

/* sent_at.csv of these clients. False: said. */
bool ut_moments_write(const ut_client *clients, int32_t count);
/* datagrams.bin, for --merge. M_RECEIVED of a generator: sent; M_ROLE: 1 generator, 2 sink. False: said. */
enum {
    UT_M_RECEIVED, UT_M_DUPLICATES, UT_M_REORDERED, UT_M_DAMAGED, UT_M_STRANGERS, UT_M_TURNED_AWAY, UT_M_DROPPED,
    UT_M_ROLE, UT_M_COUNTS
};
bool ut_books_write(const ut_books *b, const uint64_t counts[UT_M_COUNTS], const char *path);

#endif
