/* traffic.c - datagrams for allocators and their clients: a generator, a sink, and what became of them

   The generator sends when datagrams are due, whether anything comes back or not (an open loop); each carries its
   sender, its number and the moment it was meant to go out, and every delay counts from that moment. When the generator
   is late it sends many with one system call. The sink acts as one or more clients: it counts what was lost, doubled,
   overtaken and damaged on the way, and can answer, compute, or be as slow as a server with a queue.

   Build:   make build/udp/traffic   (Linux)
   Run:     build/udp/traffic --sink 0,0,0 --echo --out out/sink
            build/udp/traffic --to 127.0.0.1:5005 --rate 50000 --senders 16 --replies --out out/sent
            build/udp/traffic --merge out/sent,out/sink
   Prints:  sink: a line `client NAME ADDRESS:PORT` for each, then `ready`; all: what came of it
   Writes:  results.json; seconds.csv, by when datagrams came; sent_at.csv, by when they were meant to go out; and
            datagrams.bin (which numbers of which sender), for --merge

   Clocks are compared: generator and sink must run on one machine for delays to mean anything; counts hold anywhere. */

#define _GNU_SOURCE /* recvmmsg, sendmmsg */

#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../../rllb.h"
#include "arrivals.h"
#include "data.h"
#include "options.h"
#include "terminal.h"

/* ---- settings ---------------------------------------------------------------------------------------------------- */

enum {
    SIZE_LEAST = 10,   /* of a datagram: the short header */
    SIZE_FULL = 16,    /* from here on the header is whole */
    SIZE_MOST = 1472,
    SENDERS_MOST = 65536,
    CLIENTS_MOST = 256,
    BATCH = 256,       /* datagrams that the generator makes at once */
    CALL = 64,         /* and that one system call takes */
    HELD_MOST = 256    /* bytes of a datagram that waits to be answered */
};

static const char *const arrivals_names[] = { "poisson", "even", "trace", NULL };

static const char *to_text, *sink_text, *merge_text, *trace_path, *size_text = "10-150", *host = "127.0.0.1";
static const char *serve_text, *names_text, *out;
static int32_t arrivals_law, senders = 1, sender_from, queue_most = 1000, buffer_bytes = 4 << 20, size_low, size_high;
static int32_t slots;
static int64_t count_most;
static double rate = 1000, duration_s, life_s, linger_s = 1, work_us, idle_s, watch_s, every_s = 1, serve_ms;
static bool replies, spin, echo, cpu, quiet, gro = true;
static uint64_t seed = 1;

static ex_option options[] = {
    EX_HEADING("Generator"),
    EX_STRING("to", &to_text, "HOST:PORT", "send there"),
    EX_DOUBLE("rate", &rate, 0, 1e8, "N", "datagrams a second; 0: as fast as it goes"),
    EX_CHOICE("arrivals", &arrivals_law, arrivals_names, "at random, evenly, or as recorded"),
    EX_STRING("trace", &trace_path, "FILE",
              "when datagrams are sent: times at the file's pace or at --rate, or amounts over time, which are spread "
              "over --duration (see rllb_env.h)"),
    EX_STRING("size", &size_text, "A-B", "bytes of a datagram, uniform; 10 at least, see below"),
    EX_INT("senders", &senders, 1, SENDERS_MOST, "N", "source ports; each datagram is of one of them at random, or in "
           "turn if they come evenly"),
    EX_DOUBLE("life", &life_s, 0, 1e6, "S", "a sender takes a new source port so often: another flow; 0: never"),
    EX_INT64("count", &count_most, 0, 1e15, "N", "so many datagrams, then ends; 0: as many as come"),
    EX_FLAG("replies", &replies, "count answers, and their delay"),
    EX_DOUBLE("linger", &linger_s, 0, 1000, "S", "--replies: wait so long for the last ones, or until all are there"),
    EX_FLAG("spin", &spin, "never sleep between two datagrams: takes a whole processor, is late the least"),
    EX_INT("sender-from", &sender_from, 0, SENDERS_MOST - 1, "N", "number of the first sender, for several generators"),
    EX_SEED("seed", &seed, "of times, sizes and senders"),
    EX_HEADING("Sink"),
    EX_STRING("sink", &sink_text, "PORT,...", "receive there, one client for each; 0: the kernel chooses"),
    EX_STRING("host", &host, "ADDRESS", "where to listen"),
    EX_STRING("names", &names_text, "NAME,...", "of the clients; default c0,c1,..."),
    EX_FLAG("echo", &echo, "answer: every datagram goes back as it came, after its work"),
    EX_DOUBLE("work", &work_us, 0, 1e7, "US", "microseconds that each datagram takes a client, one after the other"),
    EX_FLAG("cpu", &cpu, "--work: compute so long, instead of waiting"),
    EX_STRING("serve", &serve_text, "NxMS", "a client that works on N datagrams at a time, MS milliseconds each"),
    EX_INT("queue", &queue_most, 0, 10000000, "N", "and has so many more wait; what comes then is turned away"),
    EX_INT("buffer", &buffer_bytes, 4096, 1 << 30, "BYTES", "receive buffer of a socket"),
    EX_FLAG("gro", &gro, "let the kernel hand over datagrams joined (UDP_GRO), where it can; --gro=no: one by one"),
    EX_DOUBLE("idle", &idle_s, 0, 1e6, "S", "end when nothing has come for so long, after the first; 0: never"),
    EX_DOUBLE("watch", &watch_s, 0, 1e6, "S", "a line for every client so often (see below); 0: none"),
    EX_HEADING("Both"),
    EX_DOUBLE("duration", &duration_s, 0, 1e7, "S",
              "how long; default: generator 10, or as long as the trace; sink until SIGTERM or Ctrl-C"),
    EX_DOUBLE("every", &every_s, 0.05, 3600, "S", "length of the intervals of seconds.csv and sent_at.csv"),
    EX_STRING("out", &out, "DIR", "folder for the results; default: none are written"),
    EX_FLAG("quiet", &quiet, "no progress, no table"),
    EX_HEADING("Afterwards"),
    EX_STRING("merge", &merge_text, "DIR,DIR,...", "results of a generator and of all sinks: what was lost between"),
};

static ex_program program = {
    .name = "traffic",
    .summary = "datagrams, open loop: a generator, and a sink that counts loss, doubles, order and delay",
    .details =
        "A datagram of 16 bytes or more carries magic (2 bytes), sender (2), number (4) and the intended send time in\n"
        "ns (8). A shorter one has one byte of magic, sender, number, and of the time in us the last 3 bytes: delays\n"
        "are then known to the microsecond and without whole multiples of 16.8 s, and one stray datagram in 256 is\n"
        "taken for ours. The rest is padding that tells size and number: what was cut or mixed up is found.\n"
        "\n"
        "received = unique + duplicates + damaged holds for every client. Reordered: a lower number than one that the\n"
        "same client had from the same sender. Strangers are not ours; with --echo they are answered at once.\n"
        "Dropped: by the kernel, for want of buffer. Turned away: by --queue.\n"
        "A sink knows of what is lost only where a later number of that sender came (gaps); --merge knows all.\n"
        "\n"
        "--watch: NAME, seconds of the monotonic clock, received, bytes in, bytes out, all so far, and since the last\n"
        "line P50 and P99 of the delay in ms.\n"
        "\n"
        "With many senders each system call carries few datagrams: at full speed take a few.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

typedef struct stamp {
    uint32_t sender, sequence;
    uint64_t at_ns; /* when it was meant to go out */
    bool damaged;
} stamp;

static void put(unsigned char *to, uint64_t value, int32_t bytes)
{
    while (bytes-- > 0) {
        to[bytes] = (unsigned char)value;
        value >>= 8;
    }
}

static uint64_t take(const unsigned char *from, int32_t bytes)
{
    uint64_t value = 0;
    int32_t i;

    for (i = 0; i < bytes; i++) value = value << 8 | from[i];
    return value;
}

static void stamp_write(const stamp *s, unsigned char *to, int32_t size)
{
    int32_t head = size < SIZE_FULL ? SIZE_LEAST : SIZE_FULL;

    if (head == SIZE_FULL) {
        put(to, 0xD14C, 2);
        put(to + 2, s->sender, 2);
        put(to + 4, s->sequence, 4);
        put(to + 8, s->at_ns, 8);
    } else {
        put(to, 0xD2, 1);
        put(to + 1, s->sender, 2);
        put(to + 3, s->sequence, 4);
        put(to + 7, s->at_ns / 1000, 3);
    }
    memset(to + head, (int)(((uint32_t)size + s->sequence) & 255), (size_t)(size - head));
}

/* False: it is none of ours. now: what the short form's time is completed by. */
static bool stamp_read(const unsigned char *from, size_t size, uint64_t now, stamp *s)
{
    size_t head = size < SIZE_FULL ? SIZE_LEAST : SIZE_FULL, i;

    if (size < SIZE_LEAST || size > SIZE_MOST) return false;
    if (head == SIZE_FULL) {
        if (take(from, 2) != 0xD14C) return false;
        s->sender = (uint32_t)take(from + 2, 2);
        s->sequence = (uint32_t)take(from + 4, 4);
        s->at_ns = take(from + 8, 8);
    } else {
        if (from[0] != 0xD2) return false;
        s->sender = (uint32_t)take(from + 1, 2);
        s->sequence = (uint32_t)take(from + 3, 4);
        s->at_ns = (now / 1000 - ((now / 1000 - take(from + 7, 3)) & 0xFFFFFF)) * 1000;
    }
    s->damaged = false;
    for (i = head; i < size; i++) s->damaged |= from[i] != (unsigned char)((uint32_t)size + s->sequence);
    return true;
}

/* ---- books: which numbers of a sender were there ----------------------------------------------------------------- */

#define JUMP_MOST (1U << 24) /* no sender is so far ahead of itself: such a number is a stranger's */
#define BOOKS_BYTES_MOST ((size_t)1 << 30)

typedef struct book {
    uint64_t *words;
    uint64_t room, next; /* numbers; next: one above the highest that was there */
} book;

typedef struct books {
    book *of; /* [SENDERS_MOST] */
    size_t bytes;
} books;

static bool books_open(books *b)
{
    b->bytes = 0;
    b->of = calloc(SENDERS_MOST, sizeof *b->of);
    return b->of || ex_fail("not enough memory") == EX_OK;
}

static void books_close(books *b)
{
    int32_t i;

    for (i = 0; b->of && i < SENDERS_MOST; i++) free(b->of[i].words);
    free(b->of);
    b->of = NULL;
}

static bool book_grow(books *b, book *k, uint64_t number)
{
    uint64_t room = k->room ? k->room : 1024, *grown;

    while (room <= number) room *= 2;
    if (b->bytes + (room - k->room) / 8 > BOOKS_BYTES_MOST) return false;
    grown = realloc(k->words, room / 8);
    if (!grown) return false;
    memset(grown + k->room / 64, 0, (room - k->room) / 8);
    b->bytes += (room - k->room) / 8;
    k->words = grown;
    k->room = room;
    return true;
}

/* 1: for the first time, 0: again, -1: it cannot be. */
static int32_t books_mark(books *b, uint32_t sender, uint32_t number)
{
    book *k = &b->of[sender];
    uint64_t bit = (uint64_t)1 << (number & 63);

    if (number >= k->next + JUMP_MOST || (number >= k->room && !book_grow(b, k, number))) return -1;
    if (number >= k->next) k->next = (uint64_t)number + 1;
    if (k->words[number / 64] & bit) return 0;
    k->words[number / 64] |= bit;
    return 1;
}

/* All that are there, and all that could be below the highest of each. */
static uint64_t books_count(const books *b, uint64_t *most)
{
    uint64_t sum = 0, w;
    int32_t i;

    *most = 0;
    for (i = 0; i < SENDERS_MOST; i++) {
        const book *k = &b->of[i];
        *most += k->next;
        for (w = 0; w < (k->next + 63) / 64; w++) sum += (uint64_t)__builtin_popcountll(k->words[w]);
    }
    return sum;
}

/* ---- spread of times --------------------------------------------------------------------------------------------- */

/* Counts by size: exact to the nanosecond below 256, then to 1 in 128; up to 18 minutes. */
enum { STEPS = 128, OCTAVES = 32, CELLS = 256 + OCTAVES * STEPS };

typedef struct spread {
    uint64_t cell[CELLS], count, most;
    double sum;
} spread;

static int32_t cell_of(uint64_t ns)
{
    int32_t octave;

    if (ns < 256) return (int32_t)ns;
    octave = 63 - __builtin_clzll(ns) - 8;
    if (octave >= OCTAVES) return CELLS - 1;
    return 256 + octave * STEPS + (int32_t)(ns >> (octave + 1) & (STEPS - 1));
}

/* The middle of a cell. */
static double cell_ns(int32_t cell)
{
    int32_t octave;

    if (cell < 256) return cell;
    octave = (cell - 256) / STEPS;
    return ldexp(STEPS + (cell - 256) % STEPS + 0.5, octave + 1);
}

static void spread_add(spread *s, uint64_t ns)
{
    s->cell[cell_of(ns)]++;
    s->count++;
    s->sum += (double)ns;
    if (ns > s->most) s->most = ns;
}

/* Milliseconds; NaN if there is nothing. */
static double spread_ms(const spread *s, double q)
{
    uint64_t rank = (uint64_t)ceil(q * (double)s->count), sum = 0;
    int32_t i;

    if (s->count == 0) return (double)NAN;
    if (rank == 0) rank = 1;
    for (i = 0; i < CELLS - 1; i++) {
        sum += s->cell[i];
        if (sum >= rank) break;
    }
    return fmin(cell_ns(i), (double)s->most) * 1e-6;
}

static double spread_mean_ms(const spread *s)
{
    return s->count ? s->sum / (double)s->count * 1e-6 : (double)NAN;
}

static double spread_most_ms(const spread *s)
{
    return s->count ? (double)s->most * 1e-6 : (double)NAN;
}

static void spread_merge(spread *s, const spread *from)
{
    int32_t i;

    if (from->count == 0) return;
    for (i = 0; i < CELLS; i++) s->cell[i] += from->cell[i];
    s->count += from->count;
    s->sum += from->sum;
    if (from->most > s->most) s->most = from->most;
}

/* ---- what became of datagrams, by the time they were meant to go out --------------------------------------------- */

/* Who is slow reads late, so that by the time of reading it would seem to get less than it does. */
enum { MOMENTS_MOST = 1 << 20, MOMENTS_BEFORE = 64 };

typedef struct moment {
    uint64_t count, most;
    double sum;
} moment;

typedef struct moments {
    moment *of;
    uint64_t first, room; /* intervals of every_s since the clock began */
} moments;

static void moments_add(moments *m, uint64_t at_ns, uint64_t ns)
{
    uint64_t now = (uint64_t)((double)at_ns * 1e-9 / every_s), at, room = m->room ? m->room : 256;
    moment *grown;

    if (!m->room) m->first = now > MOMENTS_BEFORE ? now - MOMENTS_BEFORE : 0;
    if (now < m->first || now - m->first >= MOMENTS_MOST) return;
    at = now - m->first;
    while (room <= at) room *= 2;
    if (room > m->room) {
        grown = realloc(m->of, room * sizeof *grown);
        if (!grown) return;
        memset(grown + m->room, 0, (room - m->room) * sizeof *grown);
        m->of = grown;
        m->room = room;
    }
    m->of[at].count++;
    m->of[at].sum += (double)ns;
    if (ns > m->of[at].most) m->of[at].most = ns;
}

static void moments_rows(const moments *m, const char *name, ex_csv *csv)
{
    uint64_t i;

    for (i = 0; i < m->room; i++) {
        if (m->of[i].count == 0) continue;
        ex_csv_double(csv, (double)(m->first + i) * every_s);
        ex_csv_string(csv, name);
        ex_csv_int(csv, (int64_t)m->of[i].count);
        ex_csv_double(csv, m->of[i].sum / (double)m->of[i].count * 1e-6);
        ex_csv_double(csv, (double)m->of[i].most * 1e-6);
        ex_csv_row(csv);
    }
}

static const char moments_columns[] = "sent_s,client,count,mean_ms,max_ms";

/* ---- tallies: what came, of one client --------------------------------------------------------------------------- */

#define COUNTS(X)                                                                                                   \
    X(received) X(unique) X(duplicates) X(reordered) X(damaged) X(strangers) X(turned_away) X(echoed) X(bytes)      \
    X(bytes_out)

typedef struct tally {
#define FIELD(name) uint64_t name;
    COUNTS(FIELD)
#undef FIELD
    spread delay;
} tally;

static void tally_merge(tally *t, const tally *from)
{
#define MERGE(name) t->name += from->name;
    COUNTS(MERGE)
#undef MERGE
    spread_merge(&t->delay, &from->delay);
}

typedef struct client {
    char name[32], address[64];
    int fd;
    uint64_t *next; /* [SENDERS_MOST] one above the highest number that it had of a sender */
    tally all, now; /* now: since the last row; all: up to there */
    uint64_t watched_bytes[2], watched;
    spread watch; /* since the last line of --watch */
    moments sent_at;
    struct held *held; /* a ring of what is worked on or waits, in the order in which it will be done */
    int32_t held_room, held_first, held_count;
} client;

/* True: it is one of ours, whole, and came for the first time or again: it counts. */
static bool client_take(client *c, books *seen, const unsigned char *bytes, size_t size, uint64_t now, stamp *s)
{
    int32_t fresh;

    c->now.bytes += size;
    if (!stamp_read(bytes, size, now, s)) {
        c->now.strangers++;
        return false;
    }
    fresh = s->damaged ? 0 : books_mark(seen, s->sender, s->sequence);
    if (fresh < 0) {
        c->now.strangers++;
        return false;
    }
    c->now.received++;
    if (s->damaged) {
        c->now.damaged++;
        return false;
    }
    if (fresh) c->now.unique++;
    else c->now.duplicates++;
    if (s->sequence + (uint64_t)1 > c->next[s->sender]) c->next[s->sender] = s->sequence + (uint64_t)1;
    else if (fresh) c->now.reordered++;
    return true;
}

static void client_delay(client *c, const stamp *s, uint64_t now)
{
    uint64_t ns = now > s->at_ns ? now - s->at_ns : 0;

    spread_add(&c->now.delay, ns);
    if (out) moments_add(&c->sent_at, s->at_ns, ns);
    if (watch_s > 0) spread_add(&c->watch, ns);
}

/* ---- rows of seconds.csv ----------------------------------------------------------------------------------------- */

static void row_times(ex_csv *csv, const spread *s)
{
    static const double qs[] = { 0.5, 0.9, 0.99, 0.999 };
    int32_t i;

    ex_csv_double(csv, spread_mean_ms(s));
    for (i = 0; i < EX_COUNT(qs); i++) ex_csv_double(csv, spread_ms(s, qs[i]));
    ex_csv_double(csv, spread_most_ms(s));
    ex_csv_row(csv);
}

static const char sink_columns[] = "time_s,client,received,unique,duplicates,reordered,damaged,strangers,turned_away,"
                                   "bytes,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms";

static void row_client(ex_csv *csv, client *c, double from_s)
{
    const tally *t = &c->now;
    const uint64_t counts[] = { t->received,  t->unique,    t->duplicates,  t->reordered,
                                t->damaged,   t->strangers, t->turned_away, t->bytes };
    int32_t i;

    ex_csv_double(csv, from_s);
    ex_csv_string(csv, c->name);
    for (i = 0; i < EX_COUNT(counts); i++) ex_csv_int(csv, (int64_t)counts[i]);
    row_times(csv, &t->delay);
    tally_merge(&c->all, t);
    memset(&c->now, 0, sizeof c->now);
}

static const char sent_columns[] = "time_s,what,count,bytes,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms";

/* Of the generator: what was sent and how late, or what was answered and when. */
static void row_generator(ex_csv *csv, double from_s, const char *what, uint64_t count, uint64_t bytes, const spread *s)
{
    ex_csv_double(csv, from_s);
    ex_csv_string(csv, what);
    ex_csv_int(csv, (int64_t)count);
    ex_csv_int(csv, (int64_t)bytes);
    row_times(csv, s);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void json_spread(ex_json *j, const char *key, const spread *s)
{
    ex_json_row(j, key);
    ex_json_int(j, "count", (int64_t)s->count);
    ex_json_double(j, "mean", spread_mean_ms(s));
    ex_json_double(j, "p50", spread_ms(s, 0.5));
    ex_json_double(j, "p90", spread_ms(s, 0.9));
    ex_json_double(j, "p99", spread_ms(s, 0.99));
    ex_json_double(j, "p999", spread_ms(s, 0.999));
    ex_json_double(j, "max", spread_most_ms(s));
    ex_json_end(j);
}

static void json_begin(ex_json *j, const char *role)
{
    ex_json_object(j, NULL);
    ex_json_string(j, "program", program.name);
    ex_json_string(j, "version", RLLB_VERSION_STRING);
    ex_json_string(j, "role", role);
}

/* datagrams.bin: eight counts, then sender, numbers and their bits, of all that have any. In this machine's byte order:
   it is for --merge, here. */
static const char books_magic[8] = { 'R', 'L', 'L', 'B', 'U', 'D', 'P', '1' };
enum { M_RECEIVED, M_DUPLICATES, M_REORDERED, M_DAMAGED, M_STRANGERS, M_TURNED_AWAY, M_DROPPED, M_ROLE, M_COUNTS };

static bool books_write(const books *b, const uint64_t counts[M_COUNTS], const char *path)
{
    ex_text text = { 0 };
    uint64_t i;
    bool ok;

    ex_text_add(&text, books_magic, sizeof books_magic);
    ex_text_add(&text, counts, M_COUNTS * sizeof *counts);
    for (i = 0; i < SENDERS_MOST; i++) {
        const book *k = &b->of[i];
        if (k->next == 0) continue;
        ex_text_add(&text, &i, sizeof i);
        ex_text_add(&text, &k->next, sizeof k->next);
        ex_text_add(&text, k->words, (size_t)(k->next + 63) / 64 * sizeof *k->words);
    }
    ok = ex_text_write(&text, path);
    ex_text_free(&text);
    return ok;
}

/* One sender's numbers; how many bytes that took, 0: they are not there. */
static size_t book_read(books *b, const char *at, size_t left)
{
    uint64_t of[2];
    size_t bytes;

    if (left < sizeof of) return 0;
    memcpy(of, at, sizeof of);
    if (of[0] >= SENDERS_MOST || of[1] == 0 || of[1] > UINT32_MAX + (uint64_t)1) return 0;
    bytes = (size_t)(of[1] + 63) / 64 * 8;
    if (b->of[of[0]].words || left - sizeof of < bytes || !book_grow(b, &b->of[of[0]], of[1] - 1)) return 0;
    memcpy(b->of[of[0]].words, at + sizeof of, bytes);
    b->of[of[0]].next = of[1];
    return sizeof of + bytes;
}

static bool books_read(books *b, uint64_t counts[M_COUNTS], const char *path)
{
    size_t at = sizeof books_magic + M_COUNTS * sizeof *counts, size;
    ex_text text = { 0 };
    bool ok;

    if (!ex_file_read(path, BOOKS_BYTES_MOST * 2, &text)) return false;
    ok = text.size >= at && memcmp(text.data, books_magic, sizeof books_magic) == 0;
    if (ok) memcpy(counts, text.data + sizeof books_magic, M_COUNTS * sizeof *counts);
    while (ok && at < text.size) {
        size = book_read(b, text.data + at, text.size - at);
        at += size;
        ok = size > 0;
    }
    ex_text_free(&text);
    return ok || ex_fail("%s: not a datagrams.bin of this program, or a broken one", path) == EX_OK;
}

static void table_times(ex_table *t, const spread *s)
{
    const double values[] = { spread_mean_ms(s),      spread_ms(s, 0.5),   spread_ms(s, 0.9),
                              spread_ms(s, 0.99), spread_ms(s, 0.999), spread_most_ms(s) };
    int32_t i;

    for (i = 0; i < EX_COUNT(values); i++) {
        if (isfinite(values[i])) ex_table_cell(t, "%.4g", values[i]);
        else ex_table_cell(t, "-");
    }
    ex_table_row(t);
}

static void table_heading(ex_table *t, const char *first, const char *second)
{
    static const char *const names[] = { "mean", "P50", "P90", "P99", "P99.9", "max" };
    int32_t i;

    ex_table_cell(t, "%s", first);
    ex_table_cell(t, "%s", second);
    for (i = 0; i < EX_COUNT(names); i++) ex_table_cell(t, "%s", names[i]);
    ex_table_row(t);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

typedef struct place {
    struct sockaddr_storage address;
    socklen_t size;
} place;

/* "10.0.0.5:5005", "[::1]:5005", "name:5005" */
static int place_of(const char *option, const char *text, place *out_place)
{
    const char *colon = strrchr(text, ':');
    struct addrinfo hints, *found = NULL;
    char name[256], *inside = name;
    int64_t port = 0;
    size_t length = colon ? (size_t)(colon - text) : 0;

    if (!colon || length == 0 || length >= sizeof name || !ex_parse_int64(colon + 1, &port) || port < 1 ||
        port > 65535) {
        return ex_usage(option, "'%.80s' is not HOST:PORT", text);
    }
    memcpy(name, text, length);
    name[length] = '\0';
    if (name[0] == '[' && name[length - 1] == ']') {
        name[length - 1] = '\0';
        inside++;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    if (getaddrinfo(inside, colon + 1, &hints, &found) != 0 || !found) {
        return ex_usage(option, "'%.80s' is no address that can be found", inside);
    }
    memcpy(&out_place->address, found->ai_addr, found->ai_addrlen);
    out_place->size = found->ai_addrlen;
    freeaddrinfo(found);
    return EX_GO_ON;
}

static void name_of(int fd, char text[64])
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    char name[48] = "?", port[16] = "0";
    bool six;

    memset(&a, 0, sizeof a);
    getsockname(fd, (struct sockaddr *)&a, &size);
    getnameinfo((struct sockaddr *)&a, size, name, sizeof name, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    six = a.ss_family == AF_INET6;
    snprintf(text, 64, "%s%.45s%s:%.6s", six ? "[" : "", name, six ? "]" : "", port);
}

static void files_most(void)
{
    struct rlimit most;

    if (getrlimit(RLIMIT_NOFILE, &most) != 0) return;
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
}

/* ---- the generator ----------------------------------------------------------------------------------------------- */

typedef struct sender {
    int fd, old_fd;   /* old: answers to its last life may still come */
    uint64_t sequence;
    int32_t first, last; /* of the datagrams at hand; -1: none */
} sender;

typedef struct piece { /* a datagram at hand */
    unsigned char bytes[SIZE_MOST];
    struct iovec part;
    uint64_t at_ns;
    uint32_t sequence;
    int32_t next; /* of the same sender */
} piece;

static struct {
    place to;
    sender *senders;
    piece *pieces; /* [BATCH] */
    int32_t at_hand, busy[BATCH], busy_count;
    books sent_books;
    ex_arrivals when;
    rllb_rng what, who;
    uint64_t start_ns, next_ns, renew_ns, row_ns;
    int32_t turn, renew_turn;
    int64_t made;
    uint64_t sent, failed, refused, sent_bytes, row_sent, row_bytes; /* refused: atomic */
    int last_errno;
    spread late, row_late;
    ex_text rows, answer_rows;
    ex_csv csv;

    /* Answers, of a thread of their own. */
    pthread_t thread;
    pthread_mutex_t closing; /* of a socket that the other thread may be reading */
    bool listening;
    int epoll;
    client answers;
    books answer_books;
    int32_t stop; /* atomic */
    uint64_t answered; /* atomic, for the main thread */
} gen = { .closing = PTHREAD_MUTEX_INITIALIZER };

static bool socket_of(sender *s)
{
    struct epoll_event e;
    int fd = socket(gen.to.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&gen.to.address, gen.to.size) != 0) {
        if (fd >= 0) close(fd);
        return ex_fail("no socket to %s: %s", to_text, strerror(errno)) == EX_OK;
    }
    if (replies) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
        memset(&e, 0, sizeof e);
        e.events = EPOLLIN;
        e.data.fd = fd;
        if (epoll_ctl(gen.epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
            close(fd);
            return ex_fail("epoll: %s", strerror(errno)) == EX_OK;
        }
    }
    if (!replies) s->old_fd = s->fd;
    pthread_mutex_lock(&gen.closing);
    if (s->old_fd >= 0) close(s->old_fd);
    pthread_mutex_unlock(&gen.closing);
    s->old_fd = replies ? s->fd : -1;
    s->fd = fd;
    return true;
}

/* The next sender takes a new port, when its time has come. */
static bool renew(uint64_t now)
{
    while (life_s > 0 && now >= gen.renew_ns) {
        if (!socket_of(&gen.senders[gen.renew_turn])) return false;
        gen.renew_turn = (gen.renew_turn + 1) % senders;
        gen.renew_ns += (uint64_t)(life_s / senders * 1e9);
    }
    return true;
}

static bool more_to_come(void)
{
    if (count_most > 0 && gen.made >= count_most) return false;
    return gen.next_ns != UINT64_MAX;
}

static void next_arrival(uint64_t now)
{
    double at_s;

    if (!(rate > 0)) {
        bool over = duration_s > 0 && now >= gen.start_ns + (uint64_t)(duration_s * 1e9);
        gen.next_ns = over ? UINT64_MAX : now;
        return;
    }
    at_s = ex_arrivals_next(&gen.when);
    gen.next_ns = isfinite(at_s) ? gen.start_ns + (uint64_t)(at_s * 1e9) : UINT64_MAX;
}

static int32_t who_sends(void)
{
    if (arrivals_law != EX_ARRIVALS_EVEN) return rllb_rng_below(&gen.who, senders);
    gen.turn = (gen.turn + 1) % senders;
    return gen.turn;
}

/* A datagram that is due, put behind the others of its sender. */
static void make(uint64_t at_ns)
{
    piece *p = &gen.pieces[gen.at_hand];
    int32_t size = size_low + rllb_rng_below(&gen.what, size_high - size_low + 1), who = who_sends();
    sender *s = &gen.senders[who];
    stamp mark;

    if (s->sequence > UINT32_MAX) { /* it has no numbers left */
        gen.next_ns = UINT64_MAX;
        return;
    }
    mark.sender = (uint32_t)(sender_from + who);
    mark.sequence = p->sequence = (uint32_t)s->sequence++;
    mark.at_ns = p->at_ns = at_ns;
    stamp_write(&mark, p->bytes, size);
    p->part.iov_base = p->bytes;
    p->part.iov_len = (size_t)size;
    p->next = -1;
    if (s->first < 0) {
        s->first = gen.at_hand;
        gen.busy[gen.busy_count++] = who;
    } else {
        gen.pieces[s->last].next = gen.at_hand;
    }
    s->last = gen.at_hand++;
    gen.made++;
}

static void was_sent(int32_t who, const piece *p, uint64_t now)
{
    uint64_t late = now > p->at_ns ? now - p->at_ns : 0;

    books_mark(&gen.sent_books, (uint32_t)(sender_from + who), p->sequence);
    gen.sent++;
    gen.sent_bytes += p->part.iov_len;
    spread_add(&gen.late, late);
    gen.row_sent++;
    gen.row_bytes += p->part.iov_len;
    spread_add(&gen.row_late, late);
}

/* What an error of sending means: 1 the same again, 0 it is lost. A refusal is of an earlier datagram: the kernel tells
   it now, and has not sent this one. */
static int32_t again(int32_t *tries)
{
    if (errno == EINTR) return 1;
    if (errno == ECONNREFUSED) __atomic_fetch_add(&gen.refused, 1, __ATOMIC_RELAXED);
    else gen.last_errno = errno;
    if (++*tries > 100) return 0;
    if (errno == ECONNREFUSED) return 1;
    if (errno != ENOBUFS && errno != EAGAIN) return 0;
    nanosleep(&(struct timespec){ 0, 50000 }, NULL);
    return 1;
}

/* All that a sender has at hand. */
static void send_of(int32_t who)
{
    static struct mmsghdr calls[CALL];
    sender *s = &gen.senders[who];
    int32_t at = s->first, tries = 0;

    s->first = s->last = -1;
    while (at >= 0) {
        int32_t count = 0, i, k = at, done;
        uint64_t now;
        for (; k >= 0 && count < CALL; k = gen.pieces[k].next) {
            memset(&calls[count].msg_hdr, 0, sizeof calls[count].msg_hdr);
            calls[count].msg_hdr.msg_iov = &gen.pieces[k].part;
            calls[count++].msg_hdr.msg_iovlen = 1;
        }
        now = now_ns();
        done = sendmmsg(s->fd, calls, (unsigned)count, 0);
        for (i = 0; i < done; i++, at = gen.pieces[at].next) was_sent(who, &gen.pieces[at], now);
        if (done > 0) tries = 0;
        else if (!again(&tries)) {
            gen.failed++;
            tries = 0;
            at = gen.pieces[at].next;
        }
    }
}

static void send_all(void)
{
    int32_t i;

    for (i = 0; i < gen.busy_count; i++) send_of(gen.busy[i]);
    gen.busy_count = gen.at_hand = 0;
}

static void generator_row(uint64_t now)
{
    if (now < gen.row_ns + (uint64_t)(every_s * 1e9)) return;
    row_generator(&gen.csv, (double)gen.row_ns * 1e-9, "sent", gen.row_sent, gen.row_bytes, &gen.row_late);
    gen.row_ns = now;
    gen.row_sent = gen.row_bytes = 0;
    memset(&gen.row_late, 0, sizeof gen.row_late);
}

/* Until the next one is due, or a tenth of a second. */
static void wait_for(uint64_t now)
{
    uint64_t until = gen.next_ns < now + 100000000U ? gen.next_ns : now + 100000000U;
    struct timespec t = { (time_t)(until / 1000000000U), (long)(until % 1000000000U) };

    if (!spin && until > now + 2000) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static bool send_until_over(ex_progress *bar)
{
    uint64_t shown = 0, now;

    gen.start_ns = gen.row_ns = now_ns();
    gen.renew_ns = gen.start_ns + (uint64_t)(life_s / senders * 1e9);
    next_arrival(gen.start_ns);
    while (more_to_come() && !ex_interrupted()) {
        now = now_ns();
        if (!renew(now)) return false;
        while (gen.at_hand < (rate > 0 ? BATCH : CALL) && gen.next_ns <= now && more_to_come()) {
            make(gen.next_ns);
            if (gen.next_ns != UINT64_MAX) next_arrival(now);
        }
        send_all();
        generator_row(now);
        if (now > shown + 50000000U) {
            shown = now;
            ex_progress_step(bar, (int64_t)((double)(now - gen.start_ns) * 1e-8), "%llu sent, %llu answered",
                             (unsigned long long)gen.sent,
                             (unsigned long long)__atomic_load_n(&gen.answered, __ATOMIC_RELAXED));
        }
        if (more_to_come() && gen.next_ns > now) wait_for(now_ns());
    }
    return true;
}

/* ---- the generator: answers -------------------------------------------------------------------------------------- */

static void answers_row(ex_csv *csv, uint64_t *row_ns, uint64_t now)
{
    client *c = &gen.answers;

    row_generator(csv, (double)*row_ns * 1e-9, "answers", c->now.received, c->now.bytes, &c->now.delay);
    tally_merge(&c->all, &c->now);
    memset(&c->now, 0, sizeof c->now);
    *row_ns = now;
}

static void answers_take(int fd)
{
    static unsigned char room[CALL][SIZE_MOST + 1];
    struct mmsghdr calls[CALL];
    struct iovec parts[CALL];
    uint64_t now;
    int i, count;

    memset(calls, 0, sizeof calls);
    for (i = 0; i < CALL; i++) {
        parts[i].iov_base = room[i];
        parts[i].iov_len = sizeof room[i];
        calls[i].msg_hdr.msg_iov = &parts[i];
        calls[i].msg_hdr.msg_iovlen = 1;
    }
    pthread_mutex_lock(&gen.closing);
    count = recvmmsg(fd, calls, CALL, MSG_DONTWAIT, NULL);
    pthread_mutex_unlock(&gen.closing);
    if (count < 0 && errno == ECONNREFUSED) __atomic_fetch_add(&gen.refused, 1, __ATOMIC_RELAXED);
    now = now_ns();
    for (i = 0; i < count; i++) {
        stamp s;
        if (client_take(&gen.answers, &gen.answer_books, room[i], calls[i].msg_len, now, &s)) {
            client_delay(&gen.answers, &s, now);
        }
    }
    __atomic_store_n(&gen.answered, gen.answers.all.unique + gen.answers.now.unique, __ATOMIC_RELAXED);
}

static void *answers_run(void *unused)
{
    struct epoll_event events[CALL];
    ex_csv csv = { .to = &gen.answer_rows };
    uint64_t row_ns = now_ns(), now;
    int i, count;

    (void)unused;
    while (!__atomic_load_n(&gen.stop, __ATOMIC_ACQUIRE)) {
        count = epoll_wait(gen.epoll, events, CALL, 20);
        for (i = 0; i < count; i++) answers_take(events[i].data.fd);
        now = now_ns();
        if (now >= row_ns + (uint64_t)(every_s * 1e9)) answers_row(&csv, &row_ns, now);
    }
    answers_row(&csv, &row_ns, now_ns());
    return NULL;
}

static bool answers_start(void)
{
    sigset_t all_signals, before;
    bool ok;

    gen.epoll = epoll_create1(EPOLL_CLOEXEC);
    gen.answers.next = calloc(SENDERS_MOST, sizeof *gen.answers.next);
    if (gen.epoll < 0 || !gen.answers.next || !books_open(&gen.answer_books)) return ex_fail("no memory") == EX_OK;
    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    ok = pthread_create(&gen.thread, NULL, answers_run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    gen.listening = ok;
    return ok || ex_fail("no thread for answers") == EX_OK;
}

/* The last ones are on their way. */
static void answers_end(void)
{
    uint64_t until = now_ns() + (uint64_t)(linger_s * 1e9);

    if (!gen.listening) return;
    while (now_ns() < until && __atomic_load_n(&gen.answered, __ATOMIC_RELAXED) < gen.sent && !ex_interrupted()) {
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
    __atomic_store_n(&gen.stop, 1, __ATOMIC_RELEASE);
    pthread_join(gen.thread, NULL);
    gen.listening = false;
}

/* ---- the generator: results -------------------------------------------------------------------------------------- */

/* sent_at.csv of these clients. */
static bool moments_write(const client *clients, int32_t count)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i;
    bool ok;

    ex_csv_header(&csv, moments_columns);
    for (i = 0; i < count; i++) moments_rows(&clients[i].sent_at, clients[i].name, &csv);
    ok = ex_text_write(&text, ex_path_join(out, "sent_at.csv").text);
    ex_text_free(&text);
    return ok;
}

static bool generator_write(double seconds)
{
    const uint64_t counts[M_COUNTS] = { [M_RECEIVED] = gen.sent, [M_ROLE] = 1 };
    const tally *a = &gen.answers.all;
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    bool ok;

    json_begin(&j, "generator");
    ex_json_object(&j, "settings");
    ex_json_string(&j, "to", to_text);
    ex_json_double(&j, "rate", rate);
    ex_json_string(&j, "arrivals", arrivals_names[arrivals_law]);
    ex_json_string(&j, "trace", trace_path);
    ex_json_int(&j, "size_least", size_low);
    ex_json_int(&j, "size_most", size_high);
    ex_json_int(&j, "senders", senders);
    ex_json_int(&j, "sender_from", sender_from);
    ex_json_double(&j, "life_s", life_s);
    ex_json_double(&j, "duration_s", duration_s);
    ex_json_int(&j, "count", count_most);
    ex_json_bool(&j, "replies", replies);
    ex_json_bool(&j, "spin", spin);
    ex_json_uint(&j, "seed", seed);
    ex_json_end(&j);
    ex_json_bool(&j, "stopped", ex_interrupted());
    ex_json_double(&j, "seconds", seconds);
    ex_json_row(&j, "counts");
    ex_json_int(&j, "sent", (int64_t)gen.sent);
    ex_json_int(&j, "failed", (int64_t)gen.failed);
    ex_json_int(&j, "refused", (int64_t)gen.refused);
    ex_json_int(&j, "answered", (int64_t)a->unique);
    ex_json_int(&j, "unanswered", replies ? (int64_t)(gen.sent - a->unique) : 0);
    ex_json_int(&j, "answer_duplicates", (int64_t)a->duplicates);
    ex_json_int(&j, "answer_reordered", (int64_t)a->reordered);
    ex_json_int(&j, "answer_damaged", (int64_t)a->damaged);
    ex_json_int(&j, "answer_strangers", (int64_t)a->strangers);
    ex_json_int(&j, "bytes", (int64_t)gen.sent_bytes);
    ex_json_end(&j);
    ex_json_double(&j, "sent_per_s", seconds > 0 ? (double)gen.sent / seconds : 0);
    json_spread(&j, "sent_late_ms", &gen.late); /* by the generator itself: part of all delays */
    json_spread(&j, "answer_delay_ms", &a->delay);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text) &&
         books_write(&gen.sent_books, counts, ex_path_join(out, "datagrams.bin").text);
    ex_text_free(&text);
    if (gen.answer_rows.size) ex_text_add(&gen.rows, gen.answer_rows.data, gen.answer_rows.size);
    return ok && ex_text_write(&gen.rows, ex_path_join(out, "seconds.csv").text) && moments_write(&gen.answers, 1);
}

static void generator_print(double seconds)
{
    ex_table t = { 0 };

    printf("sent %llu in %.3f s, %.0f a second", (unsigned long long)gen.sent, seconds,
           seconds > 0 ? (double)gen.sent / seconds : 0);
    if (gen.failed) printf("; failed %llu", (unsigned long long)gen.failed);
    if (gen.refused) printf("; refused %llu", (unsigned long long)gen.refused);
    if (replies) {
        const tally *a = &gen.answers.all;
        printf("; answered %llu, unanswered %llu, twice %llu", (unsigned long long)a->unique,
               (unsigned long long)(gen.sent - a->unique), (unsigned long long)a->duplicates);
    }
    printf("\n");
    table_heading(&t, "ms", "datagrams");
    ex_table_cell(&t, "sent late by");
    ex_table_cell(&t, "%llu", (unsigned long long)gen.late.count);
    table_times(&t, &gen.late);
    if (replies) {
        ex_table_cell(&t, "answered after");
        ex_table_cell(&t, "%llu", (unsigned long long)gen.answers.all.delay.count);
        table_times(&t, &gen.answers.all.delay);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static bool generator_open(void)
{
    int32_t i;

    files_most();
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    rllb_rng_init(&gen.what, seed, 1);
    rllb_rng_init(&gen.who, seed, 2);
    gen.csv.to = &gen.rows;
    snprintf(gen.answers.name, sizeof gen.answers.name, "answers");
    ex_csv_header(&gen.csv, sent_columns);
    gen.senders = malloc((size_t)senders * sizeof *gen.senders);
    gen.pieces = malloc(BATCH * sizeof *gen.pieces);
    if (!gen.senders || !gen.pieces) return ex_fail("not enough memory") == EX_OK;
    for (i = 0; i < senders; i++) gen.senders[i] = (sender){ -1, -1, 0, -1, -1 };
    if (!books_open(&gen.sent_books) || (replies && !answers_start())) return false;
    for (i = 0; i < senders; i++) {
        if (!socket_of(&gen.senders[i])) return false;
    }
    return true;
}

static void generator_close(void)
{
    int32_t i;

    answers_end();
    for (i = 0; gen.senders && i < senders; i++) {
        if (gen.senders[i].fd >= 0) close(gen.senders[i].fd);
        if (gen.senders[i].old_fd >= 0) close(gen.senders[i].old_fd);
    }
    if (replies && gen.epoll > 0) close(gen.epoll);
    free(gen.senders);
    free(gen.pieces);
    free(gen.answers.next);
    free(gen.answers.sent_at.of);
    books_close(&gen.sent_books);
    books_close(&gen.answer_books);
    ex_arrivals_close(&gen.when);
    ex_text_free(&gen.rows);
    ex_text_free(&gen.answer_rows);
}

static int generate(void)
{
    ex_progress bar;
    double seconds;
    bool ok;

    if (!generator_open()) return EX_FAILED;
    ex_progress_start(&bar, "sending", (int64_t)(duration_s * 10), quiet);
    ok = send_until_over(&bar);
    seconds = (double)(now_ns() - gen.start_ns) * 1e-9;
    if (gen.row_sent > 0) { /* the last row is shorter */
        row_generator(&gen.csv, (double)gen.row_ns * 1e-9, "sent", gen.row_sent, gen.row_bytes, &gen.row_late);
    }
    answers_end();
    ex_progress_end(&bar, NULL);
    if (!ok) return EX_FAILED;
    if (gen.sent == 0 && gen.failed > 0) return ex_fail("%s: nothing was sent: %s", to_text, strerror(gen.last_errno));
    if (out && !generator_write(seconds)) return EX_FAILED;
    if (!quiet) generator_print(seconds);
    return ex_interrupted() ? EX_FAILED : EX_OK;
}

/* ---- the sink ---------------------------------------------------------------------------------------------------- */

typedef struct held { /* a datagram that is worked on, or waits for that */
    uint64_t done_ns;
    stamp mark;
    struct sockaddr_storage from;
    socklen_t from_size;
    uint16_t size;
    unsigned char bytes[HELD_MOST];
} held;

enum { GRO_BYTES = 65536 };

static struct {
    client clients[CLIENTS_MOST];
    int32_t count;
    books seen;
    bool gro;
    size_t slot;  /* bytes of room for one read */
    int32_t batch;
    unsigned char *room;
    struct mmsghdr calls[CALL];
    struct iovec parts[CALL];
    struct sockaddr_storage from[CALL];
    uint64_t control[CALL][CMSG_SPACE(sizeof(int)) / sizeof(uint64_t) + 1]; /* aligned */

    struct mmsghdr back[CALL]; /* answers that go out together */
    struct iovec back_parts[CALL];
    int32_t back_count;

    int epoll, timer;
    uint64_t timer_ns, start_ns, last_ns, row_ns, watch_ns;
    bool any;
    ex_text rows;
    ex_csv csv;
} sink;

static void answers_out(client *c)
{
    int32_t at = 0;

    while (at < sink.back_count) {
        int done = sendmmsg(c->fd, sink.back + at, (unsigned)(sink.back_count - at), 0), i;
        for (i = 0; i < done; i++) c->now.bytes_out += sink.back_parts[at + i].iov_len;
        if (done > 0) c->now.echoed += (uint64_t)done;
        else if (errno == EINTR) continue;
        at += done > 0 ? done : 1; /* whoever cannot be answered is passed over */
    }
    sink.back_count = 0;
}

static void answer(client *c, unsigned char *bytes, size_t size, struct sockaddr_storage *to, socklen_t to_size)
{
    struct msghdr *m = &sink.back[sink.back_count].msg_hdr;

    memset(m, 0, sizeof *m);
    sink.back_parts[sink.back_count].iov_base = bytes;
    sink.back_parts[sink.back_count].iov_len = size;
    m->msg_iov = &sink.back_parts[sink.back_count];
    m->msg_iovlen = 1;
    m->msg_name = to;
    m->msg_namelen = to_size;
    if (++sink.back_count == CALL) answers_out(c);
}

static void compute(double us)
{
    struct timespec t;
    double from_us, now_us;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    from_us = (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
    do {
        volatile uint32_t x = 1;
        int32_t i;
        for (i = 0; i < 500; i++) x = x * 1664525U + 1013904223U;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        now_us = (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
    } while (now_us < from_us + us);
}

/* The work on one takes serve_ms from the moment that a slot is free: the end of the one `slots` before it. All take
   equally long, so that they end in the order in which they came. */
static void hold(client *c, const stamp *s, const unsigned char *bytes, size_t size,
                 const struct sockaddr_storage *from, socklen_t from_size, uint64_t now)
{
    held *h;
    uint64_t begin = now;

    if (c->held_count == c->held_room) {
        c->now.turned_away++;
        return;
    }
    if (c->held_count >= slots) {
        begin = c->held[(c->held_first + c->held_count - slots) % c->held_room].done_ns;
        if (begin < now) begin = now;
    }
    h = &c->held[(c->held_first + c->held_count++) % c->held_room];
    h->done_ns = begin + (uint64_t)(serve_ms * 1e6);
    h->mark = *s;
    h->from = *from;
    h->from_size = from_size;
    h->size = (uint16_t)(size < HELD_MOST ? size : HELD_MOST);
    memcpy(h->bytes, bytes, h->size);
}

static void served(client *c, uint64_t now)
{
    while (c->held_count > 0 && c->held[c->held_first].done_ns <= now) {
        held *h = &c->held[c->held_first];
        client_delay(c, &h->mark, now);
        if (echo) answer(c, h->bytes, h->size, &h->from, h->from_size);
        c->held_first = (c->held_first + 1) % c->held_room;
        c->held_count--;
    }
    answers_out(c);
}

static void one_came(client *c, unsigned char *bytes, size_t size, struct sockaddr_storage *from, socklen_t from_size,
                     uint64_t now)
{
    stamp s;
    bool ours = client_take(c, &sink.seen, bytes, size, now, &s);

    sink.any = true;
    sink.last_ns = now;
    if (ours && slots > 0) {
        hold(c, &s, bytes, size, from, from_size, now);
        return;
    }
    if (ours && cpu) {
        compute(work_us);
        now = now_ns();
    }
    if (ours) client_delay(c, &s, now);
    if (echo) answer(c, bytes, size, from, from_size);
}

/* The size of the datagrams that the kernel has joined into one read. */
static size_t segment_of(struct msghdr *m, size_t whole)
{
    struct cmsghdr *c;
    int size;

    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        if (size > 0) return (size_t)size;
    }
    return whole;
}

/* Answers whether there may be more. */
static bool read_some(client *c)
{
    int count, i;
    uint64_t now;

    for (i = 0; i < sink.batch; i++) {
        struct msghdr *m = &sink.calls[i].msg_hdr;
        m->msg_namelen = sizeof sink.from[i];
        m->msg_control = sink.gro ? sink.control[i] : NULL;
        m->msg_controllen = sink.gro ? sizeof sink.control[i] : 0;
        m->msg_flags = 0;
    }
    count = recvmmsg(c->fd, sink.calls, (unsigned)sink.batch, MSG_DONTWAIT, NULL);
    now = now_ns();
    for (i = 0; i < count; i++) {
        unsigned char *at = sink.parts[i].iov_base;
        size_t left = sink.calls[i].msg_len, segment = segment_of(&sink.calls[i].msg_hdr, left);
        do {
            size_t size = left < segment ? left : segment;
            one_came(c, at, size, &sink.from[i], sink.calls[i].msg_hdr.msg_namelen, now);
            at += size;
            left -= size;
        } while (left > 0);
    }
    answers_out(c);
    return count == sink.batch;
}

static uint64_t drops_of(int fd)
{
    uint32_t values[16] = { 0 };
    socklen_t size = sizeof values;

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &size) != 0 || size < 9 * sizeof *values) return 0;
    return values[8]; /* SK_MEMINFO_DROPS */
}

static void sink_rows(uint64_t now)
{
    int32_t i;

    for (i = 0; i < sink.count; i++) row_client(&sink.csv, &sink.clients[i], (double)sink.row_ns * 1e-9);
    sink.row_ns = now;
}

static void watch_lines(uint64_t now)
{
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        client *c = &sink.clients[i];
        printf("%s %.6f %llu %llu %llu %.4f %.4f\n", c->name, (double)now * 1e-9,
               (unsigned long long)(c->all.received + c->now.received),
               (unsigned long long)(c->all.bytes + c->now.bytes),
               (unsigned long long)(c->all.bytes_out + c->now.bytes_out), spread_ms(&c->watch, 0.5),
               spread_ms(&c->watch, 0.99));
        memset(&c->watch, 0, sizeof c->watch);
    }
    fflush(stdout);
    sink.watch_ns = now;
}

/* When the next of those that are worked on is done. */
static void set_timer(void)
{
    struct itimerspec when = { { 0, 0 }, { 0, 0 } };
    uint64_t next = UINT64_MAX;
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        const client *c = &sink.clients[i];
        if (c->held_count > 0 && c->held[c->held_first].done_ns < next) next = c->held[c->held_first].done_ns;
    }
    if (next == sink.timer_ns) return;
    sink.timer_ns = next;
    if (next != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(next / 1000000000U);
        when.it_value.tv_nsec = (long)(next % 1000000000U) | 1;
    }
    timerfd_settime(sink.timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static bool sink_over(uint64_t now)
{
    if (ex_interrupted()) return true;
    if (duration_s > 0 && now >= sink.start_ns + (uint64_t)(duration_s * 1e9)) return true;
    return idle_s > 0 && sink.any && now >= sink.last_ns + (uint64_t)(idle_s * 1e9);
}

static int sink_wait_ms(uint64_t now)
{
    uint64_t next = sink.row_ns + (uint64_t)(every_s * 1e9), watch = sink.watch_ns + (uint64_t)(watch_s * 1e9);

    if (watch_s > 0 && watch < next) next = watch;
    if (next <= now) return 0;
    next = (next - now) / 1000000U + 1;
    return next < 50 ? (int)next : 50;
}

static uint64_t received_in_all(void)
{
    uint64_t sum = 0;
    int32_t i;

    for (i = 0; i < sink.count; i++) sum += sink.clients[i].all.received + sink.clients[i].now.received;
    return sum;
}

/* What has come before the end is counted; whoever goes on to send does not keep us. */
static void drain(void)
{
    uint64_t until = now_ns() + 500000000U;
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        while (now_ns() < until && read_some(&sink.clients[i])) {}
    }
}

static void sink_run(ex_progress *bar)
{
    struct epoll_event events[CLIENTS_MOST + 1];
    uint64_t now = now_ns();
    int32_t i;

    sink.start_ns = sink.row_ns = sink.watch_ns = now;
    while (!sink_over(now)) {
        int count = epoll_wait(sink.epoll, events, EX_COUNT(events), sink_wait_ms(now));
        for (i = 0; i < count; i++) {
            int32_t tries = 8; /* then it is another one's turn */
            if (events[i].data.u32 == UINT32_MAX) continue;
            while (read_some(&sink.clients[events[i].data.u32]) && --tries > 0) {}
        }
        now = now_ns();
        if (slots > 0) {
            for (i = 0; i < sink.count; i++) served(&sink.clients[i], now);
            set_timer();
        }
        if (now >= sink.row_ns + (uint64_t)(every_s * 1e9)) sink_rows(now);
        if (watch_s > 0 && now >= sink.watch_ns + (uint64_t)(watch_s * 1e9)) watch_lines(now);
        ex_progress_step(bar, (int64_t)((double)(now - sink.start_ns) * 1e-8), "%llu received",
                         (unsigned long long)received_in_all());
    }
    drain();
    sink_rows(now_ns());
}

/* ---- the sink: results ------------------------------------------------------------------------------------------- */

static void json_tally(ex_json *j, const tally *t, uint64_t dropped)
{
#define NUMBER(name) ex_json_int(j, #name, (int64_t)t->name);
    COUNTS(NUMBER)
#undef NUMBER
    ex_json_int(j, "dropped", (int64_t)dropped);
    json_spread(j, "delay_ms", &t->delay);
}

static bool sink_write(const tally *all, uint64_t gaps, uint64_t dropped, double seconds)
{
    const uint64_t counts[M_COUNTS] = { all->received,  all->duplicates,  all->reordered, all->damaged,
                                        all->strangers, all->turned_away, dropped,        2 };
    ex_text text = { 0 };
    ex_json j = { .to = &text };
    int32_t i;
    bool ok;

    json_begin(&j, "sink");
    ex_json_object(&j, "settings");
    ex_json_bool(&j, "echo", echo);
    ex_json_double(&j, "work_us", work_us);
    ex_json_bool(&j, "cpu", cpu);
    ex_json_string(&j, "serve", serve_text);
    ex_json_int(&j, "queue", queue_most);
    ex_json_int(&j, "buffer_bytes", buffer_bytes);
    ex_json_bool(&j, "gro", sink.gro);
    ex_json_end(&j);
    ex_json_double(&j, "seconds", seconds);
    ex_json_int(&j, "gaps", (int64_t)gaps);
    ex_json_array(&j, "clients");
    for (i = 0; i < sink.count; i++) {
        ex_json_object(&j, NULL);
        ex_json_string(&j, "client", sink.clients[i].name);
        ex_json_string(&j, "address", sink.clients[i].address);
        json_tally(&j, &sink.clients[i].all, drops_of(sink.clients[i].fd));
        ex_json_end(&j);
    }
    ex_json_end(&j);
    ex_json_object(&j, "all");
    json_tally(&j, all, dropped);
    ex_json_end(&j);
    ex_json_end(&j);
    ok = ex_json_write(&j, ex_path_join(out, "results.json").text) &&
         books_write(&sink.seen, counts, ex_path_join(out, "datagrams.bin").text) &&
         ex_text_write(&sink.rows, ex_path_join(out, "seconds.csv").text) && moments_write(sink.clients, sink.count);
    ex_text_free(&text);
    return ok;
}

static void sink_print(const tally *all, uint64_t gaps, uint64_t dropped, double seconds)
{
    ex_table t = { 0 };
    int32_t i;

    printf("received %llu in %.3f s: unique %llu, duplicates %llu, damaged %llu; reordered %llu, strangers %llu, "
           "dropped %llu, turned away %llu; gaps %llu\n",
           (unsigned long long)all->received, seconds, (unsigned long long)all->unique,
           (unsigned long long)all->duplicates, (unsigned long long)all->damaged, (unsigned long long)all->reordered,
           (unsigned long long)all->strangers, (unsigned long long)dropped, (unsigned long long)all->turned_away,
           (unsigned long long)gaps);
    table_heading(&t, "delay, ms", "received");
    for (i = 0; i < sink.count; i++) {
        ex_table_cell(&t, "%s", sink.clients[i].name);
        ex_table_cell(&t, "%llu", (unsigned long long)sink.clients[i].all.received);
        table_times(&t, &sink.clients[i].all.delay);
    }
    ex_table_print(&t, stdout);
    ex_table_free(&t);
}

static int sink_report(double seconds)
{
    tally *all = calloc(1, sizeof *all);
    uint64_t most, dropped = 0, there = books_count(&sink.seen, &most);
    int32_t i;
    bool ok = true;

    if (!all) return ex_fail("not enough memory");
    for (i = 0; i < sink.count; i++) {
        tally_merge(all, &sink.clients[i].all);
        dropped += drops_of(sink.clients[i].fd);
    }
    if (out) ok = sink_write(all, most - there, dropped, seconds);
    if (ok && !quiet) sink_print(all, most - there, dropped, seconds);
    free(all);
    return ok ? EX_OK : EX_FAILED;
}

/* ---- the sink: setting up ---------------------------------------------------------------------------------------- */

static int client_open(client *c, int32_t number, int32_t port)
{
    struct epoll_event e;
    char text[300];
    place at;
    int status, one = 1;

    snprintf(text, sizeof text, strchr(host, ':') ? "[%.250s]:%d" : "%.250s:%d", host, port ? (int)port : 1);
    status = place_of("host", text, &at);
    if (status != EX_GO_ON) return status;
    if (at.address.ss_family == AF_INET6) ((struct sockaddr_in6 *)&at.address)->sin6_port = htons((uint16_t)port);
    else ((struct sockaddr_in *)&at.address)->sin_port = htons((uint16_t)port);
    c->fd = socket(at.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&at.address, at.size) != 0) {
        return ex_fail("%s port %d: %s", host, (int)port, strerror(errno));
    }
    if (setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) != 0) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    }
    if (sink.gro && setsockopt(c->fd, SOL_UDP, UDP_GRO, &one, sizeof one) != 0) sink.gro = false;
    c->next = calloc(SENDERS_MOST, sizeof *c->next);
    c->held_room = slots > 0 ? slots + queue_most : 0;
    c->held = c->held_room ? malloc((size_t)c->held_room * sizeof *c->held) : NULL;
    if (!c->next || (c->held_room && !c->held)) return ex_fail("not enough memory for --queue");
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN;
    e.data.u32 = (uint32_t)number;
    if (epoll_ctl(sink.epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) return ex_fail("epoll: %s", strerror(errno));
    name_of(c->fd, c->address);
    return EX_GO_ON;
}

static bool name_take(const char **at, char *name, size_t room)
{
    size_t length = *at ? strcspn(*at, ",") : 0;

    if (length == 0 || length >= room) return false;
    memcpy(name, *at, length);
    name[length] = '\0';
    *at = (*at)[length] ? *at + length + 1 : NULL;
    return true;
}

static int clients_open(void)
{
    const char *at = sink_text, *names = names_text;
    int status = EX_GO_ON;

    while (at && status == EX_GO_ON) {
        client *c = &sink.clients[sink.count];
        char text[32];
        int64_t port;
        if (sink.count == CLIENTS_MOST) return ex_usage("sink", "more than %d ports", CLIENTS_MOST);
        if (!name_take(&at, text, sizeof text) || !ex_parse_int64(text, &port) || port < 0 || port > 65535) {
            return ex_usage("sink", "'%.80s' is not PORT,PORT,...", sink_text);
        }
        if (!names_text) snprintf(c->name, sizeof c->name, "c%d", (int)sink.count);
        else if (!name_take(&names, c->name, sizeof c->name)) return ex_usage("names", "one for each port of --sink");
        c->fd = -1;
        status = client_open(c, sink.count, (int32_t)port);
        sink.count++;
    }
    if (status == EX_GO_ON && names) return ex_usage("names", "more than ports in --sink");
    return status;
}

static bool sink_room(void)
{
    int32_t i;

    sink.batch = cpu && work_us >= 20 ? 1 : CALL;
    sink.slot = sink.gro ? GRO_BYTES : SIZE_MOST + 1;
    sink.room = malloc((size_t)sink.batch * sink.slot);
    if (!sink.room) return ex_fail("not enough memory") == EX_OK;
    for (i = 0; i < sink.batch; i++) {
        sink.parts[i].iov_base = sink.room + (size_t)i * sink.slot;
        sink.parts[i].iov_len = sink.slot;
        sink.calls[i].msg_hdr.msg_iov = &sink.parts[i];
        sink.calls[i].msg_hdr.msg_iovlen = 1;
        sink.calls[i].msg_hdr.msg_name = &sink.from[i];
    }
    return true;
}

static int sink_open(void)
{
    struct epoll_event e;
    int32_t i;
    int status;

    files_most();
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    sink.gro = gro;
    sink.csv.to = &sink.rows;
    sink.timer_ns = UINT64_MAX;
    ex_csv_header(&sink.csv, sink_columns);
    sink.epoll = epoll_create1(EPOLL_CLOEXEC);
    sink.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN | EPOLLET; /* once for each time that it rings */
    e.data.u32 = UINT32_MAX;
    if (sink.epoll < 0 || sink.timer < 0 || epoll_ctl(sink.epoll, EPOLL_CTL_ADD, sink.timer, &e) != 0) {
        return ex_fail("no timer can be had: %s", strerror(errno));
    }
    status = clients_open();
    if (status != EX_GO_ON) return status;
    if (!sink_room() || !books_open(&sink.seen)) return EX_FAILED;
    for (i = 0; i < sink.count; i++) printf("client %s %s\n", sink.clients[i].name, sink.clients[i].address);
    printf("ready\n");
    fflush(stdout);
    return EX_GO_ON;
}

static void sink_close(void)
{
    int32_t i;

    for (i = 0; i < sink.count; i++) {
        if (sink.clients[i].fd >= 0) close(sink.clients[i].fd);
        free(sink.clients[i].next);
        free(sink.clients[i].held);
        free(sink.clients[i].sent_at.of);
    }
    if (sink.epoll > 0) close(sink.epoll);
    if (sink.timer > 0) close(sink.timer);
    free(sink.room);
    books_close(&sink.seen);
    ex_text_free(&sink.rows);
}

static int receive(void)
{
    ex_progress bar;
    int status = sink_open();

    if (status != EX_GO_ON) return status;
    ex_progress_start(&bar, "receiving", (int64_t)(duration_s * 10), quiet);
    sink_run(&bar);
    ex_progress_end(&bar, NULL);
    return sink_report((double)(now_ns() - sink.start_ns) * 1e-9);
}

/* ---- afterwards -------------------------------------------------------------------------------------------------- */

typedef struct merged {
    uint64_t counts[M_COUNTS], sent, received, lost, duplicates, unsent;
} merged;

/* A number that two sinks have is there twice. */
static bool books_join(books *all, books *more, merged *m)
{
    uint64_t i, w;

    for (i = 0; i < SENDERS_MOST; i++) {
        book *k = &all->of[i];
        const book *from = &more->of[i];
        if (from->next == 0) continue;
        if (from->next > k->room && !book_grow(all, k, from->next - 1)) return ex_fail("not enough memory") == EX_OK;
        if (from->next > k->next) k->next = from->next;
        for (w = 0; w < (from->next + 63) / 64; w++) {
            m->duplicates += (uint64_t)__builtin_popcountll(k->words[w] & from->words[w]);
            k->words[w] |= from->words[w];
        }
    }
    return true;
}

static void books_compare(const books *sent, const books *seen, merged *m)
{
    uint64_t i, w;

    for (i = 0; i < SENDERS_MOST; i++) {
        const book *a = &sent->of[i], *b = &seen->of[i];
        uint64_t words = (a->next > b->next ? a->next + 63 : b->next + 63) / 64;
        for (w = 0; w < words; w++) {
            uint64_t x = w < a->room / 64 ? a->words[w] : 0, y = w < b->room / 64 ? b->words[w] : 0;
            m->lost += (uint64_t)__builtin_popcountll(x & ~y);
            m->unsent += (uint64_t)__builtin_popcountll(y & ~x);
        }
    }
}

static bool merge_one(const char *folder, bool first, books *sent, books *seen, merged *m)
{
    uint64_t counts[M_COUNTS];
    books here = { 0 };
    ex_path path = ex_path_join(folder, "datagrams.bin");
    int32_t i;
    bool ok;

    if (first) return books_read(sent, m->counts, path.text) &&
                      (m->counts[M_ROLE] == 1 || ex_fail("%s: is not of a generator", folder) == EX_OK);
    ok = books_open(&here) && books_read(&here, counts, path.text) &&
         (counts[M_ROLE] == 2 || ex_fail("%s: is not of a sink", folder) == EX_OK) && books_join(seen, &here, m);
    for (i = 0; ok && i < M_ROLE; i++) m->counts[i] += counts[i];
    books_close(&here);
    return ok;
}

static int merge_work(books *sent, books *seen, merged *m)
{
    const char *at = merge_text;
    char folder[1000];
    int32_t count;

    for (count = 0; at; count++) {
        if (!name_take(&at, folder, sizeof folder)) return ex_usage("merge", "'%.80s' is not DIR,DIR,...", merge_text);
        if (!merge_one(folder, count == 0, sent, seen, m)) return EX_FAILED;
        if (count == 0) {
            m->sent = m->counts[M_RECEIVED];
            memset(m->counts, 0, sizeof m->counts);
        }
    }
    return count > 1 ? EX_GO_ON : ex_usage("merge", "a generator's folder, and at least one of a sink");
}

static int merge(void)
{
    books sent = { 0 }, seen = { 0 };
    merged m;
    int status;

    memset(&m, 0, sizeof m);
    if (!books_open(&sent) || !books_open(&seen)) return EX_FAILED;
    status = merge_work(&sent, &seen, &m);
    if (status == EX_GO_ON) {
        books_compare(&sent, &seen, &m);
        printf("sent %llu received %llu lost %llu duplicates %llu reordered %llu damaged %llu strangers %llu "
               "turned_away %llu dropped %llu unsent %llu\n",
               (unsigned long long)m.sent, (unsigned long long)m.counts[M_RECEIVED], (unsigned long long)m.lost,
               (unsigned long long)(m.counts[M_DUPLICATES] + m.duplicates), (unsigned long long)m.counts[M_REORDERED],
               (unsigned long long)m.counts[M_DAMAGED], (unsigned long long)m.counts[M_STRANGERS],
               (unsigned long long)m.counts[M_TURNED_AWAY], (unsigned long long)m.counts[M_DROPPED],
               (unsigned long long)m.unsent);
        status = EX_OK;
    }
    books_close(&sent);
    books_close(&seen);
    return status;
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int size_read(void)
{
    char low[32];
    const char *dash = strchr(size_text, '-');
    int64_t a, b;

    snprintf(low, sizeof low, "%.*s", dash ? (int)(dash - size_text) : 31, size_text);
    if (!ex_parse_int64(low, &a) || !ex_parse_int64(dash ? dash + 1 : low, &b) || a > b || b > SIZE_MOST) {
        return ex_usage("size", "'%.60s' is not A-B, with B at most %d", size_text, SIZE_MOST);
    }
    if (a < SIZE_LEAST) return ex_usage("size", "%lld: the header takes %d bytes", (long long)a, SIZE_LEAST);
    size_low = (int32_t)a;
    size_high = (int32_t)b;
    return EX_GO_ON;
}

static int generator_check(void)
{
    int status = size_read();

    if (status == EX_GO_ON) status = place_of("to", to_text, &gen.to);
    if (status != EX_GO_ON) return status;
    if (sender_from + senders > SENDERS_MOST) return ex_usage("sender-from", "the last sender is %d", SENDERS_MOST - 1);
    if (arrivals_law == EX_ARRIVALS_TRACE && !trace_path) return ex_usage("trace", "is missing");
    if (arrivals_law != EX_ARRIVALS_TRACE && trace_path) {
        return ex_usage("trace", "has no use without --arrivals trace");
    }
    if (!(rate > 0) && arrivals_law != EX_ARRIVALS_POISSON) return ex_usage("rate", "0 has no use with --arrivals");
    gen.when.law = arrivals_law;
    gen.when.rate = arrivals_law == EX_ARRIVALS_TRACE && !ex_option_given(&program, "rate") ? 0 : rate;
    gen.when.duration_s = duration_s;
    if (arrivals_law == EX_ARRIVALS_TRACE) {
        gen.when.trace = ex_trace_read(trace_path);
        if (!gen.when.trace) return EX_FAILED;
    } else if (!(duration_s > 0)) {
        gen.when.duration_s = count_most > 0 ? 1e9 : 10;
    }
    status = ex_arrivals_open(&gen.when, trace_path, seed, 0);
    duration_s = gen.when.duration_s;
    rate = gen.when.rate;
    return status;
}

/* "4x2.5": four at a time, 2.5 ms each. */
static int sink_check(void)
{
    char number[32];
    const char *x = serve_text ? strchr(serve_text, 'x') : NULL;
    int64_t n = 0;

    if (cpu && !(work_us > 0)) return ex_usage("cpu", "has no use without --work");
    if (serve_text && work_us > 0) return ex_usage("serve", "has no use with --work");
    if (serve_text) {
        snprintf(number, sizeof number, "%.*s", x ? (int)(x - serve_text) : 0, serve_text);
        if (!x || !ex_parse_int64(number, &n) || n < 1 || n > 100000 || !ex_parse_double(x + 1, &serve_ms) ||
            !(serve_ms > 0) || serve_ms > 1e6) {
            return ex_usage("serve", "'%.60s' is not NxMS", serve_text);
        }
        slots = (int32_t)n;
    } else if (work_us > 0 && !cpu) {
        slots = 1;
        serve_ms = work_us / 1000;
    }
    return EX_GO_ON;
}

static int work(void)
{
    int status;

    if (to_text) {
        status = generator_check();
        if (status == EX_GO_ON) status = generate();
        generator_close();
    } else {
        status = sink_check();
        if (status == EX_GO_ON) status = receive();
        sink_close();
    }
    return status;
}

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);
    ex_lock lock = { -1 };

    if (status != EX_GO_ON) return status;
    if ((to_text != NULL) + (sink_text != NULL) + (merge_text != NULL) != 1) {
        return ex_usage("to", "one of --to, --sink and --merge says what to do");
    }
    if (merge_text) return merge();
    ex_catch_interrupts();
    if (out && !ex_folder_lock(out, &lock)) return EX_FAILED;
    status = work();
    if (out) ex_folder_unlock(&lock);
    return status;
}
