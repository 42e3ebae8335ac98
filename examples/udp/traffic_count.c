/* traffic_count.c - see traffic_parts.h */

#include "traffic_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../rllb.h"

uint64_t ut_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

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

void ut_stamp_write(const ut_stamp *s, unsigned char *to, int32_t size)
{
    int32_t head = size < UT_SIZE_FULL ? UT_SIZE_LEAST : UT_SIZE_FULL;

    if (head == UT_SIZE_FULL) {
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
static bool stamp_read(const unsigned char *from, size_t size, uint64_t now, ut_stamp *s)
{
    size_t head = size < UT_SIZE_FULL ? UT_SIZE_LEAST : UT_SIZE_FULL, i;

    if (size < UT_SIZE_LEAST || size > UT_SIZE_MOST) return false;
    if (head == UT_SIZE_FULL) {
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

typedef struct ut_book {
    uint64_t *words;
    uint64_t room, next; /* numbers; next: one above the highest that was there */
} book;

bool ut_books_open(ut_books *b)
{
    b->bytes = 0;
    b->of = calloc(UT_SENDERS_MOST, sizeof *b->of);
    return b->of || ex_fail("not enough memory") == EX_OK;
}

void ut_books_close(ut_books *b)
{
    int32_t i;

    for (i = 0; b->of && i < UT_SENDERS_MOST; i++) free(b->of[i].words);
    free(b->of);
    b->of = NULL;
}

static bool book_grow(ut_books *b, book *k, uint64_t number)
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

int32_t ut_books_mark(ut_books *b, uint32_t sender, uint32_t number)
{
    book *k = &b->of[sender];
    uint64_t bit = (uint64_t)1 << (number & 63);

    if (number >= k->next + JUMP_MOST || (number >= k->room && !book_grow(b, k, number))) return -1;
    if (number >= k->next) k->next = (uint64_t)number + 1;
    if (k->words[number / 64] & bit) return 0;
    k->words[number / 64] |= bit;
    return 1;
}

uint64_t ut_books_count(const ut_books *b, uint64_t *most)
{
    uint64_t sum = 0, w;
    int32_t i;

    *most = 0;
    for (i = 0; i < UT_SENDERS_MOST; i++) {
        const book *k = &b->of[i];
        *most += k->next;
        for (w = 0; w < (k->next + 63) / 64; w++) sum += (uint64_t)__builtin_popcountll(k->words[w]);
    }
    return sum;
}

/* ---- spread of times --------------------------------------------------------------------------------------------- */

static int32_t cell_of(uint64_t ns)
{
    int32_t octave;

    if (ns < 256) return (int32_t)ns;
    octave = 63 - __builtin_clzll(ns) - 8;
    if (octave >= UT_OCTAVES) return UT_CELLS - 1;
    return 256 + octave * UT_STEPS + (int32_t)(ns >> (octave + 1) & (UT_STEPS - 1));
}

/* The middle of a cell. */
static double cell_ns(int32_t cell)
{
    int32_t octave;

    if (cell < 256) return cell;
    octave = (cell - 256) / UT_STEPS;
    return ldexp(UT_STEPS + (cell - 256) % UT_STEPS + 0.5, octave + 1);
}

void ut_spread_add(ut_spread *s, uint64_t ns)
{
    s->cell[cell_of(ns)]++;
    s->count++;
    s->sum += (double)ns;
    if (ns > s->most) s->most = ns;
}

double ut_spread_ms(const ut_spread *s, double q)
{
    uint64_t rank = (uint64_t)ceil(q * (double)s->count), sum = 0;
    int32_t i;

    if (s->count == 0) return (double)NAN;
    if (rank == 0) rank = 1;
    for (i = 0; i < UT_CELLS - 1; i++) {
        sum += s->cell[i];
        if (sum >= rank) break;
    }
    return fmin(cell_ns(i), (double)s->most) * 1e-6;
}

static double spread_mean_ms(const ut_spread *s)
{
    return s->count ? s->sum / (double)s->count * 1e-6 : (double)NAN;
}

static double spread_most_ms(const ut_spread *s)
{
    return s->count ? (double)s->most * 1e-6 : (double)NAN;
}

static void spread_merge(ut_spread *s, const ut_spread *from)
{
    int32_t i;

    if (from->count == 0) return;
    for (i = 0; i < UT_CELLS; i++) s->cell[i] += from->cell[i];
    s->count += from->count;
    s->sum += from->sum;
    if (from->most > s->most) s->most = from->most;
}

/* ---- what became of datagrams, by the time they were meant to go out --------------------------------------------- */

enum { MOMENTS_MOST = 1 << 20, MOMENTS_BEFORE = 64 };

typedef struct ut_moment {
    uint64_t count, most;
    double sum;
} moment;

static void moments_add(ut_moments *m, uint64_t at_ns, uint64_t ns)
{
    uint64_t now = (uint64_t)((double)at_ns * 1e-9 / ut_set.every_s), at, room = m->room ? m->room : 256;
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

static void moments_rows(const ut_moments *m, const char *name, ex_csv *csv)
{
    uint64_t i;

    for (i = 0; i < m->room; i++) {
        if (m->of[i].count == 0) continue;
        ex_csv_double(csv, (double)(m->first + i) * ut_set.every_s);
        ex_csv_string(csv, name);
        ex_csv_int(csv, (int64_t)m->of[i].count);
        ex_csv_double(csv, m->of[i].sum / (double)m->of[i].count * 1e-6);
        ex_csv_double(csv, (double)m->of[i].most * 1e-6);
        ex_csv_row(csv);
    }
}

bool ut_moments_write(const ut_client *clients, int32_t count)
{
    ex_text text = { 0 };
    ex_csv csv = { .to = &text };
    int32_t i;
    bool ok;

    ex_csv_header(&csv, "sent_s,client,count,mean_ms,max_ms");
    for (i = 0; i < count; i++) moments_rows(&clients[i].sent_at, clients[i].name, &csv);
    ok = ex_text_write(&text, ex_path_join(ut_set.out, "sent_at.csv").text);
    ex_text_free(&text);
    return ok;
}

/* ---- tallies: what came, of one client --------------------------------------------------------------------------- */

void ut_tally_merge(ut_tally *t, const ut_tally *from)
{
#define MERGE(name) t->name += from->name;
    UT_COUNTS(MERGE)
#undef MERGE
    spread_merge(&t->delay, &from->delay);
}

bool ut_client_take(ut_client *c, ut_books *seen, const unsigned char *bytes, size_t size, uint64_t now, ut_stamp *s)
{
    int32_t fresh;

    c->now.bytes += size;
    if (!stamp_read(bytes, size, now, s)) {
        c->now.strangers++;
        return false;
    }
    fresh = s->damaged ? 0 : ut_books_mark(seen, s->sender, s->sequence);
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

void ut_client_delay(ut_client *c, const ut_stamp *s, uint64_t now)
{
    uint64_t ns = now > s->at_ns ? now - s->at_ns : 0;

    ut_spread_add(&c->now.delay, ns);
    if (ut_set.out) moments_add(&c->sent_at, s->at_ns, ns);
    if (ut_set.watch_s > 0) ut_spread_add(&c->watch, ns);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

void ut_row_times(ex_csv *csv, const ut_spread *s)
{
    static const double qs[] = { 0.5, 0.9, 0.99, 0.999 };
    int32_t i;

    ex_csv_double(csv, spread_mean_ms(s));
    for (i = 0; i < EX_COUNT(qs); i++) ex_csv_double(csv, ut_spread_ms(s, qs[i]));
    ex_csv_double(csv, spread_most_ms(s));
    ex_csv_row(csv);
}

void ut_json_begin(ex_json *j, const char *role)
{
    ex_json_object(j, NULL);
    ex_json_string(j, "program", ut_set.program->name);
    ex_json_string(j, "version", RLLB_VERSION_STRING);
    ex_json_string(j, "role", role);
}

void ut_json_spread(ex_json *j, const char *key, const ut_spread *s)
{
    ex_json_row(j, key);
    ex_json_int(j, "count", (int64_t)s->count);
    ex_json_double(j, "mean", spread_mean_ms(s));
    ex_json_double(j, "p50", ut_spread_ms(s, 0.5));
    ex_json_double(j, "p90", ut_spread_ms(s, 0.9));
    ex_json_double(j, "p99", ut_spread_ms(s, 0.99));
    ex_json_double(j, "p999", ut_spread_ms(s, 0.999));
    ex_json_double(j, "max", spread_most_ms(s));
    ex_json_end(j);
}

void ut_json_tally(ex_json *j, const ut_tally *t, uint64_t dropped)
{
#define NUMBER(name) ex_json_int(j, #name, (int64_t)t->name);
    UT_COUNTS(NUMBER)
#undef NUMBER
    ex_json_int(j, "dropped", (int64_t)dropped);
    ut_json_spread(j, "delay_ms", &t->delay);
}

void ut_table_heading(ex_table *t, const char *first, const char *second)
{
    static const char *const names[] = { "mean", "P50", "P90", "P99", "P99.9", "max" };
    int32_t i;

    ex_table_cell(t, "%s", first);
    ex_table_cell(t, "%s", second);
    for (i = 0; i < EX_COUNT(names); i++) ex_table_cell(t, "%s", names[i]);
    ex_table_row(t);
}

void ut_table_times(ex_table *t, const ut_spread *s)
{
    const double values[] = { spread_mean_ms(s),     ut_spread_ms(s, 0.5),   ut_spread_ms(s, 0.9),
                              ut_spread_ms(s, 0.99), ut_spread_ms(s, 0.999), spread_most_ms(s) };
    int32_t i;

    for (i = 0; i < EX_COUNT(values); i++) {
        if (isfinite(values[i])) ex_table_cell(t, "%.4g", values[i]);
        else ex_table_cell(t, "-");
    }
    ex_table_row(t);
}

/* ---- datagrams.bin ----------------------------------------------------------------------------------------------- */

/* Eight counts, then sender, numbers and their bits, of all that have any. In this machine's byte order: it is for
   --merge, here. */
static const char books_magic[8] = { 'R', 'L', 'L', 'B', 'U', 'D', 'P', '1' };

bool ut_books_write(const ut_books *b, const uint64_t counts[UT_M_COUNTS], const char *path)
{
    ex_text text = { 0 };
    uint64_t i;
    bool ok;

    ex_text_add(&text, books_magic, sizeof books_magic);
    ex_text_add(&text, counts, UT_M_COUNTS * sizeof *counts);
    for (i = 0; i < UT_SENDERS_MOST; i++) {
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
static size_t book_read(ut_books *b, const char *at, size_t left)
{
    uint64_t of[2];
    size_t bytes;

    if (left < sizeof of) return 0;
    memcpy(of, at, sizeof of);
    if (of[0] >= UT_SENDERS_MOST || of[1] == 0 || of[1] > UINT32_MAX + (uint64_t)1) return 0;
    bytes = (size_t)(of[1] + 63) / 64 * 8;
    if (b->of[of[0]].words || left - sizeof of < bytes || !book_grow(b, &b->of[of[0]], of[1] - 1)) return 0;
    memcpy(b->of[of[0]].words, at + sizeof of, bytes);
    b->of[of[0]].next = of[1];
    return sizeof of + bytes;
}

static bool books_read(ut_books *b, uint64_t counts[UT_M_COUNTS], const char *path)
{
    size_t at = sizeof books_magic + UT_M_COUNTS * sizeof *counts, size;
    ex_text text = { 0 };
    bool ok;

    if (!ex_file_read(path, BOOKS_BYTES_MOST * 2, &text)) return false;
    ok = text.size >= at && memcmp(text.data, books_magic, sizeof books_magic) == 0;
    if (ok) memcpy(counts, text.data + sizeof books_magic, UT_M_COUNTS * sizeof *counts);
    while (ok && at < text.size) {
        size = book_read(b, text.data + at, text.size - at);
        at += size;
        ok = size > 0;
    }
    ex_text_free(&text);
    return ok || ex_fail("%s: not a datagrams.bin of this program, or a broken one", path) == EX_OK;
}

/* ---- afterwards -------------------------------------------------------------------------------------------------- */

typedef struct merged {
    uint64_t counts[UT_M_COUNTS], sent, received, lost, duplicates, unsent;
} merged;

/* A number that two sinks have is there twice. */
static bool books_join(ut_books *all, ut_books *more, merged *m)
{
    uint64_t i, w;

    for (i = 0; i < UT_SENDERS_MOST; i++) {
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

static void books_compare(const ut_books *sent, const ut_books *seen, merged *m)
{
    uint64_t i, w;

    for (i = 0; i < UT_SENDERS_MOST; i++) {
        const book *a = &sent->of[i], *b = &seen->of[i];
        uint64_t words = (a->next > b->next ? a->next + 63 : b->next + 63) / 64;
        for (w = 0; w < words; w++) {
            uint64_t x = w < a->room / 64 ? a->words[w] : 0, y = w < b->room / 64 ? b->words[w] : 0;
            m->lost += (uint64_t)__builtin_popcountll(x & ~y);
            m->unsent += (uint64_t)__builtin_popcountll(y & ~x);
        }
    }
}

static bool merge_one(const char *folder, bool first, ut_books *sent, ut_books *seen, merged *m)
{
    uint64_t counts[UT_M_COUNTS];
    ut_books here = { 0 };
    ex_path path = ex_path_join(folder, "datagrams.bin");
    int32_t i;
    bool ok;

    if (first) return books_read(sent, m->counts, path.text) &&
                      (m->counts[UT_M_ROLE] == 1 || ex_fail("%s: is not of a generator", folder) == EX_OK);
    ok = ut_books_open(&here) && books_read(&here, counts, path.text) &&
         (counts[UT_M_ROLE] == 2 || ex_fail("%s: is not of a sink", folder) == EX_OK) && books_join(seen, &here, m);
    for (i = 0; ok && i < UT_M_ROLE; i++) m->counts[i] += counts[i];
    ut_books_close(&here);
    return ok;
}

static int merge_work(ut_books *sent, ut_books *seen, merged *m)
{
    const char *at = ut_set.merge;
    char folder[1000];
    int32_t count;

    for (count = 0; at; count++) {
        if (!ut_name_take(&at, folder, sizeof folder)) {
            return ex_usage("merge", "'%.80s' is not DIR,DIR,...", ut_set.merge);
        }
        if (!merge_one(folder, count == 0, sent, seen, m)) return EX_FAILED;
        if (count == 0) {
            m->sent = m->counts[UT_M_RECEIVED];
            memset(m->counts, 0, sizeof m->counts);
        }
    }
    return count > 1 ? EX_GO_ON : ex_usage("merge", "a generator's folder, and at least one of a sink");
}

int ut_merge(void)
{
    ut_books sent = { 0 }, seen = { 0 };
    merged m;
    int status;

    memset(&m, 0, sizeof m);
    if (!ut_books_open(&sent) || !ut_books_open(&seen)) return EX_FAILED;
    status = merge_work(&sent, &seen, &m);
    if (status == EX_GO_ON) {
        books_compare(&sent, &seen, &m);
        printf("sent %llu received %llu lost %llu duplicates %llu reordered %llu damaged %llu strangers %llu "
               "turned_away %llu dropped %llu unsent %llu\n",
               (unsigned long long)m.sent, (unsigned long long)m.counts[UT_M_RECEIVED], (unsigned long long)m.lost,
               (unsigned long long)(m.counts[UT_M_DUPLICATES] + m.duplicates),
               (unsigned long long)m.counts[UT_M_REORDERED], (unsigned long long)m.counts[UT_M_DAMAGED],
               (unsigned long long)m.counts[UT_M_STRANGERS], (unsigned long long)m.counts[UT_M_TURNED_AWAY],
               (unsigned long long)m.counts[UT_M_DROPPED], (unsigned long long)m.unsent);
        status = EX_OK;
    }
    ut_books_close(&sent);
    ut_books_close(&seen);
    return status;
}
