/* vectors.c - see vectors.h */

#include "vectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "options.h"
#include "rllb.h"

enum { FILES_MAX = 256, FIELD_BYTES = 128 };

#define FILE_BYTES_MAX ((size_t)1 << 30)

/* ---- sets -------------------------------------------------------------------------------------------------- */

bool ex_vectors_make(ex_vectors *out, int32_t count, int32_t size)
{
    memset(out, 0, sizeof *out);
    out->count = count;
    out->size = size;
    out->full = 1;
    out->values = calloc((size_t)(count > 0 ? count : 1) * (size_t)size, sizeof *out->values);
    return out->values != NULL;
}

void ex_vectors_free(ex_vectors *v)
{
    free(v->values);
    free(v->names);
    memset(v, 0, sizeof *v);
}

const double *ex_vectors_row(const ex_vectors *v, int32_t row)
{
    return v->values + (size_t)row * (size_t)v->size;
}

double ex_vectors_distance(const double *a, const double *b, int32_t size)
{
    double sum = 0;
    int32_t i;

    for (i = 0; i < size; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

bool ex_vectors_sample(const ex_vectors *v, int32_t count, uint64_t seed, ex_vectors *out, int32_t *rows)
{
    int32_t take = count < v->count ? count : v->count, i, left = take, at = 0;
    rllb_rng rng;

    if (!ex_vectors_make(out, take, v->size)) return false;
    rllb_rng_init(&rng, seed, 0);
    for (i = 0; i < v->count && left > 0; i++) { /* each row with the chance that makes `left` of those to come */
        if (rllb_rng_below(&rng, v->count - i) >= left) continue;
        if (rows) rows[at] = i;
        memcpy(out->values + (size_t)at++ * (size_t)v->size, ex_vectors_row(v, i), (size_t)v->size * sizeof *v->values);
        left--;
    }
    return true;
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

/* A line of a file as fields. */
typedef struct line {
    char *fields; /* [count][FIELD_BYTES] */
    int32_t count;
} line;

typedef struct table {
    const char *path;
    ex_text text;
    char mark;
    const char *at;         /* what is not read yet */
    int64_t number;         /* of the line read last */
    line names, now;
    bool headed;
    int32_t *used, used_count, time_column; /* time_column: -1 */
    double *values;                         /* [rows][used_count] */
    char *times;                            /* [rows][FIELD_BYTES]; NULL: not asked for */
    int32_t rows, room;
} table;

static void table_free(table *t)
{
    ex_text_free(&t->text);
    free(t->names.fields);
    free(t->now.fields);
    free(t->used);
    free(t->values);
    free(t->times);
}

static const char *field(const line *l, int32_t i)
{
    return l->fields + (size_t)i * FIELD_BYTES;
}

static bool no_memory(void)
{
    ex_fail("out of memory for the vectors");
    return false;
}

/* The next line that is not blank; 0 at the end, -1 if it is wrong (said). Blanks and quotes around a field go. */
static int next_line(table *t, line *out)
{
    const char *end, *p;

    for (;;) {
        if (!*t->at) return 0;
        end = t->at + strcspn(t->at, "\n");
        t->number++;
        p = t->at;
        t->at = *end ? end + 1 : end;
        if (end > p && end[-1] == '\r') end--;
        while (p < end && (*p == ' ' || (*p == '\t' && t->mark != '\t'))) p++;
        if (p < end) break;
    }
    if (!t->mark) {
        t->mark = memchr(p, ',', (size_t)(end - p))    ? ','
                  : memchr(p, ';', (size_t)(end - p))  ? ';'
                  : memchr(p, '\t', (size_t)(end - p)) ? '\t'
                                                       : ',';
    }
    if (!out->fields) {
        int32_t most = 1;
        const char *q;
        for (q = p; q < end; q++) most += *q == t->mark;
        if (most > EX_VECTORS_SIZE_MAX) {
            ex_fail("%s:%lld: %d columns are more than %d", t->path, (long long)t->number, (int)most,
                    EX_VECTORS_SIZE_MAX);
            return -1;
        }
        out->fields = calloc((size_t)EX_VECTORS_SIZE_MAX, FIELD_BYTES);
        if (!out->fields) {
            no_memory();
            return -1;
        }
    }
    for (out->count = 0;; out->count++) {
        const char *from = p, *to;
        char *into;
        if (out->count == EX_VECTORS_SIZE_MAX) {
            ex_fail("%s:%lld: more than %d columns", t->path, (long long)t->number, EX_VECTORS_SIZE_MAX);
            return -1;
        }
        while (from < end && *from == ' ') from++;
        if (from < end && *from == '"') {
            to = memchr(from + 1, '"', (size_t)(end - from - 1));
            if (!to) {
                ex_fail("%s:%lld: a quote does not close", t->path, (long long)t->number);
                return -1;
            }
            from++;
            for (p = to + 1; p < end && *p != t->mark; p++) {}
        } else {
            for (p = from; p < end && *p != t->mark; p++) {}
            for (to = p; to > from && to[-1] == ' '; to--) {}
        }
        into = out->fields + (size_t)out->count * FIELD_BYTES;
        snprintf(into, FIELD_BYTES, "%.*s", (int)(to - from < FIELD_BYTES ? to - from : FIELD_BYTES - 1), from);
        if (p >= end) break;
        p++;
    }
    out->count++;
    return 1;
}

static bool is_number(const char *text)
{
    double value;
    return ex_parse_double(text, &value);
}

static char lower(char ch)
{
    return (char)(ch >= 'A' && ch <= 'Z' ? ch - 'A' + 'a' : ch);
}

static bool same_name(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return !*a && !*b;
}

static bool one_of(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (same_name(name, *names)) return true;
    }
    return false;
}

static bool is_time(const char *name)
{
    static const char *const names[] = { "time", "timestamp", "t", "t_s", "ts", "time_s", "date", "datetime", NULL };
    return one_of(name, names);
}

/* Numbers that are no loads. */
static bool is_count(const char *name)
{
    static const char *const names[] = { "step",    "index",  "row",           "id", "episode", "action", "arrival",
                                         "dropped", "reward", "reward_so_far", "",   NULL };
    return one_of(name, names);
}

/* server1, Server_2, server 3 */
static bool is_server(const char *name)
{
    static const char word[] = "server";
    size_t i;

    for (i = 0; word[i]; i++) {
        if (lower(name[i]) != word[i]) return false;
    }
    name += i + (name[i] == '_' || name[i] == ' ');
    return *name && strspn(name, "0123456789") == strlen(name);
}

static bool choose_named(table *t, const char *columns, int32_t width)
{
    const char *at = columns;
    char name[FIELD_BYTES];

    while (at) {
        size_t length = strcspn(at, ",");
        int64_t number = 0;
        int32_t i, found = -1;
        snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), at);
        for (i = 0; t->headed && i < t->names.count && found < 0; i++) {
            if (same_name(field(&t->names, i), name)) found = i;
        }
        if (found < 0 && ex_parse_int64(name, &number) && number >= 1 && number <= width) found = (int32_t)number - 1;
        if (found < 0 || t->used_count == EX_VECTORS_SIZE_MAX) {
            ex_fail("%s: there is no column '%.60s' (columns are called by name, or by number up to %d)", t->path, name,
                    (int)width);
            return false;
        }
        t->used[t->used_count++] = found;
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

/* Which columns are loads, by the header and the first row below it. */
static bool choose_columns(table *t, const char *columns)
{
    bool servers = false;
    int32_t i, width = t->now.count;

    t->used = calloc(EX_VECTORS_SIZE_MAX, sizeof *t->used);
    if (!t->used) return no_memory();
    t->time_column = -1;
    for (i = width - 1; i >= 0 && t->headed; i--) {
        if (is_time(field(&t->names, i))) t->time_column = i;
        if (is_server(field(&t->names, i)) && is_number(field(&t->now, i))) servers = true;
    }
    if (columns) return choose_named(t, columns, width);
    for (i = 0; i < width; i++) {
        const char *name = t->headed ? field(&t->names, i) : "load";
        if (!is_number(field(&t->now, i)) || (servers ? !is_server(name) : is_time(name) || is_count(name))) continue;
        t->used[t->used_count++] = i;
    }
    if (t->used_count > 0) return true;
    ex_fail("%s:%lld: no column of numbers that could be loads; --columns names them", t->path, (long long)t->number);
    return false;
}

static bool add_row(table *t)
{
    int32_t i, width = t->headed ? t->names.count : 0;

    if (width && t->now.count != width) {
        ex_fail("%s:%lld: %d columns where the header has %d", t->path, (long long)t->number, (int)t->now.count,
                (int)width);
        return false;
    }
    if (t->rows == t->room) {
        int32_t room = t->room ? t->room + t->room / 2 : 1024;
        double *values = realloc(t->values, (size_t)room * (size_t)t->used_count * sizeof *values);
        if (!values) return no_memory();
        t->values = values;
        if (t->times) {
            char *times = realloc(t->times, (size_t)room * FIELD_BYTES);
            if (!times) return no_memory();
            t->times = times;
        }
        t->room = room;
    }
    for (i = 0; i < t->used_count; i++) {
        const char *text = t->used[i] < t->now.count ? field(&t->now, t->used[i]) : "";
        if (!ex_parse_double(text, &t->values[(size_t)t->rows * (size_t)t->used_count + (size_t)i])) {
            ex_fail("%s:%lld: '%.40s' in column %d is not a number", t->path, (long long)t->number, text,
                    (int)t->used[i] + 1);
            return false;
        }
    }
    if (t->times) memcpy(t->times + (size_t)t->rows * FIELD_BYTES, field(&t->now, t->time_column), FIELD_BYTES);
    t->rows++;
    return true;
}

static bool table_read(table *t, const char *path, const char *columns, bool with_time)
{
    int32_t i;
    int got;

    memset(t, 0, sizeof *t);
    t->path = path;
    if (!ex_file_read(path, FILE_BYTES_MAX, &t->text)) return false;
    if (t->text.size && memchr(t->text.data, '\0', t->text.size)) {
        ex_fail("%s: not a table of text", path);
        return false;
    }
    t->at = t->text.data ? t->text.data : "";
    if (strncmp(t->at, "\xEF\xBB\xBF", 3) == 0) t->at += 3;
    got = next_line(t, &t->names);
    for (i = 0; got > 0 && i < t->names.count && !t->headed; i++) t->headed = !is_number(field(&t->names, i));
    if (got > 0 && !t->headed) { /* the line is data: read it again */
        t->at = t->text.data + (strncmp(t->text.data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0);
        t->number = 0;
    }
    if (got > 0) got = next_line(t, &t->now);
    if (got == 0) ex_fail("%s: there are no rows in it", path);
    if (got <= 0 || !choose_columns(t, columns)) return false;
    if (with_time && t->time_column < 0) {
        ex_fail("%s: no column is called time or timestamp, so its rows cannot be joined by time", path);
        return false;
    }
    if (with_time && (t->times = malloc(FIELD_BYTES)) == NULL) return no_memory();
    for (; got > 0; got = next_line(t, &t->now)) {
        if (!add_row(t)) return false;
    }
    ex_text_free(&t->text);
    return got == 0;
}

static const char *stem(const char *path, int *length)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

    *length = (int)(dot && dot > name ? dot - name : (long)strlen(name));
    return name;
}

typedef struct timed {
    const char *text;
    int32_t row;
} timed;

static int timed_order(const void *a, const void *b)
{
    const timed *p = a, *q = b;
    int order = strcmp(p->text, q->text);

    return order ? order : (p->row > q->row) - (p->row < q->row);
}

/* rows[k * tables + f]: the row of file f that is row k of all, in the order of the first file. Answers how many. */
static int32_t join(const table *tables, int32_t count, bool by_time, int32_t *rows)
{
    int32_t least = tables[0].rows, f, k, joined = 0;
    timed *sorted;

    for (f = 1; f < count; f++) {
        if (tables[f].rows < least) least = tables[f].rows;
    }
    if (!by_time) {
        for (k = 0; k < least; k++) {
            for (f = 0; f < count; f++) rows[k * count + f] = k;
        }
        return least;
    }
    for (k = 0; k < tables[0].rows; k++) {
        rows[k * count] = k;
        for (f = 1; f < count; f++) rows[k * count + f] = -1;
    }
    for (f = 1; f < count; f++) {
        sorted = calloc((size_t)tables[f].rows, sizeof *sorted);
        if (!sorted) return -1;
        for (k = 0; k < tables[f].rows; k++) {
            sorted[k].text = tables[f].times + (size_t)k * FIELD_BYTES;
            sorted[k].row = k;
        }
        qsort(sorted, (size_t)tables[f].rows, sizeof *sorted, timed_order);
        for (k = 0; k < tables[0].rows; k++) {
            const char *text = tables[0].times + (size_t)k * FIELD_BYTES;
            int32_t low = 0, high = tables[f].rows;
            while (low < high) {
                int32_t middle = low + (high - low) / 2;
                if (strcmp(sorted[middle].text, text) < 0) low = middle + 1;
                else high = middle;
            }
            if (low < tables[f].rows && strcmp(sorted[low].text, text) == 0) rows[k * count + f] = sorted[low].row;
        }
        free(sorted);
    }
    for (k = 0; k < tables[0].rows; k++) {
        bool all = true;
        for (f = 1; f < count; f++) all = all && rows[k * count + f] >= 0;
        if (!all) continue;
        memmove(rows + joined * count, rows + k * count, (size_t)count * sizeof *rows);
        joined++;
    }
    return joined;
}

static bool assemble(const table *tables, int32_t count, const ex_vectors_desc *desc, ex_vectors *out)
{
    int32_t size = 0, f, i, k, joined, at = 0;
    int32_t *rows = calloc((size_t)tables[0].rows * (size_t)count, sizeof *rows);
    double greatest = 0;
    size_t j;

    for (f = 0; f < count; f++) size += tables[f].used_count;
    if (size > EX_VECTORS_SIZE_MAX) {
        free(rows);
        ex_fail("%d columns together are more than %d", (int)size, EX_VECTORS_SIZE_MAX);
        return false;
    }
    joined = rows ? join(tables, count, desc->by_time, rows) : -1;
    if (joined == 0) {
        free(rows);
        ex_fail("%.200s: no time is in all of these files; --join row takes their rows as they come", desc->files);
        return false;
    }
    if (joined < 0 || !ex_vectors_make(out, joined, size) || (out->names = calloc((size_t)size, 64)) == NULL) {
        free(rows);
        return no_memory();
    }
    for (f = 0; f < count; f++) {
        const table *t = &tables[f];
        int length;
        const char *file = stem(t->path, &length);
        if (length > 40) length = 40;
        for (i = 0; i < t->used_count; i++) {
            char *name = out->names[at + i];
            if (count > 1 && t->used_count == 1) snprintf(name, 64, "%.*s", length, file);
            else if (t->headed && count == 1) snprintf(name, 64, "%.60s", field(&t->names, t->used[i]));
            else if (t->headed) snprintf(name, 64, "%.*s %.20s", length, file, field(&t->names, t->used[i]));
            else snprintf(name, 64, "column %d", (int)t->used[i] + 1);
            for (k = 0; k < joined; k++) {
                size_t row = (size_t)rows[k * count + f];
                double v = t->values[row * (size_t)t->used_count + (size_t)i];
                out->values[(size_t)k * (size_t)size + (size_t)(at + i)] = v;
                if (fabs(v) > greatest) greatest = fabs(v);
            }
        }
        at += t->used_count;
    }
    free(rows);
    out->full = desc->full > 0 ? desc->full : greatest <= 1.5 ? 1 : greatest <= 110 ? 100 : greatest;
    for (j = 0; j < (size_t)joined * (size_t)size; j++) out->values[j] /= out->full;
    return true;
}

bool ex_vectors_read(const ex_vectors_desc *desc, ex_vectors *out)
{
    char *paths[FILES_MAX], *copy = malloc(strlen(desc->files) + 1), *at = copy;
    table *tables;
    int32_t count = 0, f;
    bool ok = true;

    memset(out, 0, sizeof *out);
    if (!copy) return no_memory();
    strcpy(copy, desc->files);
    while (at && ok) {
        char *comma = strchr(at, ',');
        if (comma) *comma = '\0';
        if (!*at || count == FILES_MAX) {
            ex_fail(*at ? "more than 256 files: %.100s" : "an empty file name in '%.100s'", desc->files);
            ok = false;
            break;
        }
        paths[count++] = at;
        at = comma ? comma + 1 : NULL;
    }
    tables = calloc((size_t)(count ? count : 1), sizeof *tables);
    if (ok && !tables) ok = no_memory();
    for (f = 0; f < count && ok; f++) ok = table_read(&tables[f], paths[f], desc->columns, desc->by_time && count > 1);
    if (ok) ok = assemble(tables, count, desc, out);
    for (f = 0; f < count && tables; f++) table_free(&tables[f]);
    free(tables);
    free(copy);
    if (!ok) ex_vectors_free(out);
    return ok;
}

/* ---- nearest ----------------------------------------------------------------------------------------------- */

/* Points are put in order so that each leaf holds neighbours, and are compared with a leaf of queries at a time. A leaf
   is scanned in single precision, LEAF points side by side and four coordinates at once, in loops that compilers turn
   into vector instructions; the limit is so much wider than the best that no rounding can hide a nearer point, and what
   passes is measured in double precision. Coordinates are filled up with zeros to whole groups of four. */
enum { LEAF = 64, GROUP = 4 };

/* Bounds are sums in another order than distances, so they may be this much above one. */
#define BOUND_SLACK (1 - 1e-12)

typedef struct node {
    int32_t first, count; /* in order */
    int32_t left;         /* index of the left child, the right one follows; 0: a leaf */
    int32_t leaf;         /* which of the leaves it is */
} node;

typedef struct tree {
    const ex_vectors *of;
    int32_t wide; /* of->size, filled up */
    int32_t *order;
    node *nodes;
    double *boxes; /* [nodes][2][wide]: low, high */
    int32_t node_count;
    float *lanes; /* [leaves][wide][LEAF], infinite where there is no point */
    double greatest;
} tree;

static void tree_free(tree *t)
{
    free(t->order);
    free(t->nodes);
    free(t->boxes);
    free(t->lanes);
}

/* Puts the k-th by coordinate `axis` at place k, smaller before and greater behind (Hoare's selection). */
static void select_kth(tree *t, int32_t low, int32_t high, int32_t k, int32_t axis)
{
    const double *v = t->of->values;
    size_t size = (size_t)t->of->size, a = (size_t)axis;

    while (low < high) {
        double pivot = v[(size_t)t->order[low + (high - low) / 2] * size + a];
        int32_t i = low, j = high;
        while (i <= j) {
            while (v[(size_t)t->order[i] * size + a] < pivot) i++;
            while (v[(size_t)t->order[j] * size + a] > pivot) j--;
            if (i <= j) {
                int32_t swap = t->order[i];
                t->order[i++] = t->order[j];
                t->order[j--] = swap;
            }
        }
        if (k <= j) high = j;
        else if (k >= i) low = i;
        else return;
    }
}

/* Fills the box of node n; answers its widest side. */
static int32_t node_box(tree *t, int32_t n)
{
    const node *at = &t->nodes[n];
    int32_t size = t->of->size, i, j, widest = 0;
    double *low = t->boxes + (size_t)n * 2 * (size_t)t->wide, *high = low + t->wide;

    for (j = 0; j < size; j++) {
        low[j] = (double)INFINITY;
        high[j] = -(double)INFINITY;
    }
    for (i = at->first; i < at->first + at->count; i++) {
        const double *p = ex_vectors_row(t->of, t->order[i]);
        for (j = 0; j < size; j++) {
            if (p[j] < low[j]) low[j] = p[j];
            if (p[j] > high[j]) high[j] = p[j];
        }
    }
    for (j = 0; j < size; j++) {
        if (high[j] - low[j] > high[widest] - low[widest]) widest = j;
        t->greatest = fmax(t->greatest, fmax(fabs(low[j]), fabs(high[j])));
    }
    return widest;
}

static void leaf_lanes(const tree *t, const node *leaf, float *lanes)
{
    int32_t i, j;

    for (i = 0; i < LEAF; i++) {
        const double *p = i < leaf->count ? ex_vectors_row(t->of, t->order[leaf->first + i]) : NULL;
        for (j = 0; j < t->wide; j++) {
            lanes[j * LEAF + i] = !p ? INFINITY : j < t->of->size ? (float)p[j] : 0;
        }
    }
}

static bool tree_make(tree *t, const ex_vectors *of)
{
    size_t most = 2 * ((size_t)of->count / (LEAF / 2) + 4);
    int32_t i, leaves = 0;

    memset(t, 0, sizeof *t);
    t->of = of;
    t->wide = (of->size + GROUP - 1) / GROUP * GROUP;
    t->order = calloc((size_t)of->count, sizeof *t->order);
    t->nodes = calloc(most, sizeof *t->nodes);
    t->boxes = calloc(most * 2 * (size_t)t->wide, sizeof *t->boxes);
    if (!t->order || !t->nodes || !t->boxes) return false;
    for (i = 0; i < of->count; i++) t->order[i] = i;
    t->nodes[0].count = of->count;
    t->node_count = 1;
    for (i = 0; i < t->node_count; i++) { /* nodes are made breadth first */
        node *n = &t->nodes[i];
        int32_t axis = node_box(t, i), half = n->count / 2;
        if (n->count <= LEAF) {
            n->leaf = leaves++;
            continue;
        }
        select_kth(t, n->first, n->first + n->count - 1, n->first + half, axis);
        n->left = t->node_count;
        t->nodes[n->left].first = n->first;
        t->nodes[n->left].count = half;
        t->nodes[n->left + 1].first = n->first + half;
        t->nodes[n->left + 1].count = n->count - half;
        t->node_count += 2;
    }
    t->lanes = calloc((size_t)leaves * (size_t)t->wide * LEAF, sizeof *t->lanes);
    if (!t->lanes) return false;
    for (i = 0; i < t->node_count; i++) {
        const node *n = &t->nodes[i];
        if (!n->left) leaf_lanes(t, n, t->lanes + (size_t)n->leaf * (size_t)t->wide * LEAF);
    }
    return true;
}

static const double *tree_box(const tree *t, int32_t n)
{
    return t->boxes + (size_t)n * 2 * (size_t)t->wide;
}

/* At most the squared distance of any point between low_a and high_a to any point of the other box (for one point,
   low_a and high_a are it). */
static double boxes_apart(const double *low_a, const double *high_a, const double *box_b, int32_t wide)
{
    const double *low_b = box_b, *high_b = box_b + wide;
    double sum[GROUP] = { 0 };
    int32_t j, k;

    for (j = 0; j < wide; j += GROUP) {
        for (k = 0; k < GROUP; k++) {
            double right = low_b[j + k] - high_a[j + k], left = low_a[j + k] - high_b[j + k];
            double gap = (right > 0 ? right : 0) + (left > 0 ? left : 0); /* one of the two at most */
            sum[k] += gap * gap;
        }
    }
    return (sum[0] + sum[1] + sum[2] + sum[3]) * BOUND_SLACK;
}

typedef struct found {
    double best; /* squared */
    float limit; /* in single precision nothing nearer than best is above it */
    int32_t row;
} found;

/* Single precision moves a coordinate by 2^-24 of the greatest, a difference of two by four times that; n terms summed
   up are off by n 2^-24 of their sum. The limit has twice that. */
static float limit_of(double best, double greatest, int32_t wide)
{
    double reach = sqrt(best) + ldexp(greatest, -21) * sqrt((double)wide);

    reach *= reach * (1 + ldexp(wide + 8.0, -22));
    return reach < 3e38 ? (float)reach : INFINITY;
}

static double squared(const double *a, const double *b, int32_t size)
{
    double sum = 0;
    int32_t i;

    for (i = 0; i < size; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/* !(sum > limit), not sum <= limit: where single precision is out of its range the sum is NaN, and double decides. */
static void scan_leaf(const tree *t, const node *leaf, const double *point, const float *rounded, int32_t not_row,
                      double greatest, found *f)
{
    const float *at = t->lanes + (size_t)leaf->leaf * (size_t)t->wide * LEAF;
    float sum[LEAF] = { 0 }, limit = f->limit;
    int32_t j, k;

    for (j = 0; j < t->wide; j += GROUP, at += (size_t)GROUP * LEAF) {
        float p0 = rounded[j], p1 = rounded[j + 1], p2 = rounded[j + 2], p3 = rounded[j + 3];
        int32_t near = 0;
        for (k = 0; k < LEAF; k++) {
            float a = at[k] - p0, b = at[k + LEAF] - p1, c = at[k + 2 * LEAF] - p2, d = at[k + 3 * LEAF] - p3;
            sum[k] += (a * a + b * b) + (c * c + d * d);
        }
        for (k = 0; k < LEAF; k++) near += !(sum[k] > limit);
        if (!near) return;
    }
    for (k = 0; k < leaf->count; k++) {
        int32_t row;
        double d;
        if (sum[k] > f->limit) continue;
        row = t->order[leaf->first + k];
        if (row == not_row) continue;
        d = squared(ex_vectors_row(t->of, row), point, t->of->size);
        if (d > f->best || (d >= f->best && row > f->row)) continue;
        f->best = d;
        f->limit = limit_of(d, greatest, t->wide);
        f->row = row;
    }
}

/* The points of a leaf of queries, filled up. */
typedef struct queries {
    double *exact;  /* [LEAF][wide] */
    float *rounded; /* [LEAF][wide] */
    found found[LEAF];
    double greatest;
} queries;

/* The nearest of `among` for all points of leaf q of `from`, nearer boxes first. */
static void search(const tree *from, int32_t q, const tree *among, const int32_t *but_not, queries *b)
{
    struct {
        int32_t node;
        double apart;
    } stack[128];
    const node *block = &from->nodes[q];
    const double *low = tree_box(from, q), *high = low + from->wide;
    int32_t wide = from->wide, depth = 1, i, j;
    double worst = (double)INFINITY;

    for (i = 0; i < block->count; i++) {
        const double *point = ex_vectors_row(from->of, from->order[block->first + i]);
        b->found[i].best = (double)INFINITY;
        b->found[i].limit = INFINITY;
        b->found[i].row = INT32_MAX;
        for (j = 0; j < from->of->size; j++) {
            b->exact[i * wide + j] = point[j];
            b->rounded[i * wide + j] = (float)point[j];
        }
    }
    stack[0].node = 0;
    stack[0].apart = 0;
    while (depth > 0) {
        const node *n = &among->nodes[stack[--depth].node];
        const double *box = tree_box(among, stack[depth].node);
        if (stack[depth].apart > worst) continue;
        if (n->left) {
            double l = boxes_apart(low, high, tree_box(among, n->left), wide);
            double r = boxes_apart(low, high, tree_box(among, n->left + 1), wide);
            stack[depth].node = l <= r ? n->left + 1 : n->left;
            stack[depth++].apart = l <= r ? r : l;
            stack[depth].node = l <= r ? n->left : n->left + 1;
            stack[depth++].apart = l <= r ? l : r;
            continue;
        }
        worst = 0;
        for (i = 0; i < block->count; i++) {
            const double *point = b->exact + i * wide;
            int32_t not_row = but_not ? but_not[from->order[block->first + i]] : -1;
            if (boxes_apart(point, point, box, wide) <= b->found[i].best) {
                scan_leaf(among, n, point, b->rounded + i * wide, not_row, b->greatest, &b->found[i]);
            }
            if (b->found[i].best > worst) worst = b->found[i].best;
        }
    }
}

bool ex_vectors_nearest(const ex_vectors *from, const ex_vectors *among, const int32_t *but_not, double *distance,
                        int32_t *row)
{
    tree a, t;
    queries b;
    int32_t n, i;
    bool ok;

    if (from->size != among->size || among->count < 1 + (but_not != NULL)) return false;
    if (from->count < 1) return true;
    memset(&b, 0, sizeof b);
    ok = tree_make(&a, from);
    if (!tree_make(&t, among)) ok = false;
    b.exact = calloc((size_t)LEAF * (size_t)a.wide, sizeof *b.exact);
    b.rounded = calloc((size_t)LEAF * (size_t)a.wide, sizeof *b.rounded);
    b.greatest = fmax(a.greatest, t.greatest);
    if (!b.exact || !b.rounded) ok = false;
    for (n = 0; n < a.node_count && ok; n++) {
        if (a.nodes[n].left) continue;
        search(&a, n, &t, but_not, &b);
        for (i = 0; i < a.nodes[n].count; i++) {
            int32_t at = a.order[a.nodes[n].first + i];
            distance[at] = sqrt(b.found[i].best);
            if (row) row[at] = b.found[i].row;
        }
    }
    tree_free(&a);
    tree_free(&t);
    free(b.exact);
    free(b.rounded);
    return ok;
}

/* ---- two samples ------------------------------------------------------------------------------------------- */

/* Sum of distances among the first `half` of the pooled points as `label` orders them. */
static double sum_within(const float *pair, int32_t total, const int32_t *label, int32_t half)
{
    double sum = 0;
    int32_t i, j;

    for (i = 0; i < half; i++) {
        const float *line_i = pair + (size_t)label[i] * (size_t)total;
        double part = 0;
        for (j = 0; j < i; j++) part += (double)line_i[label[j]];
        sum += part;
    }
    return sum;
}

/* E from the sum within the first group, given the sum of all and of each point's distances. */
static double energy_of(double within_a, double of_a, double all, int32_t a, int32_t b, double *between_mean)
{
    double between = of_a - 2 * within_a, within_b = all - within_a - between;

    *between_mean = between / ((double)a * b);
    return 2 * *between_mean - 2 * within_a / ((double)a * a) - 2 * within_b / ((double)b * b);
}

static bool energy(const ex_vectors *a, const ex_vectors *b, int32_t permutations, uint64_t seed, ex_energy *out)
{
    int32_t total = a->count + b->count, i, j, k, as_great = 1;
    float *pair = malloc((size_t)total * (size_t)total * sizeof *pair);
    double *of = calloc((size_t)total, sizeof *of), all = 0, of_a = 0, mean, given;
    int32_t *label = calloc((size_t)total, sizeof *label);
    rllb_rng rng;

    if (!pair || !of || !label) {
        free(pair);
        free(of);
        free(label);
        return false;
    }
    for (i = 0; i < total; i++) {
        const double *p = i < a->count ? ex_vectors_row(a, i) : ex_vectors_row(b, i - a->count);
        label[i] = i;
        pair[(size_t)i * (size_t)total + (size_t)i] = 0;
        for (j = 0; j < i; j++) {
            const double *q = j < a->count ? ex_vectors_row(a, j) : ex_vectors_row(b, j - a->count);
            float d = (float)ex_vectors_distance(p, q, a->size);
            pair[(size_t)i * (size_t)total + (size_t)j] = pair[(size_t)j * (size_t)total + (size_t)i] = d;
            of[i] += (double)d;
            of[j] += (double)d;
            all += (double)d;
        }
    }
    for (i = 0; i < a->count; i++) of_a += of[i];
    given = energy_of(sum_within(pair, total, label, a->count), of_a, all, a->count, b->count, &mean);
    out->distance = given > 0 ? given : 0;
    out->coefficient = mean > 0 ? out->distance / (2 * mean) : 0;
    rllb_rng_init(&rng, seed, 1);
    for (k = 0; k < permutations; k++) {
        double e;
        of_a = 0;
        for (i = 0; i < a->count; i++) { /* only the first group needs a shuffle */
            int32_t other = i + rllb_rng_below(&rng, total - i), swap = label[i];
            label[i] = label[other];
            label[other] = swap;
            of_a += of[label[i]];
        }
        e = energy_of(sum_within(pair, total, label, a->count), of_a, all, a->count, b->count, &mean);
        as_great += e >= given - 1e-12 * fabs(given);
    }
    out->p = (double)as_great / (permutations + 1);
    free(pair);
    free(of);
    free(label);
    return true;
}

bool ex_energy_test(const ex_vectors *a, const ex_vectors *b, int32_t sample, int32_t permutations, uint64_t seed,
                    ex_energy *out)
{
    ex_vectors x = { 0 }, y = { 0 };
    bool ok = a->size == b->size && a->count > 0 && b->count > 0;

    memset(out, 0, sizeof *out);
    ok = ok && ex_vectors_sample(a, sample, seed, &x, NULL) && ex_vectors_sample(b, sample, seed + 1, &y, NULL);
    if (ok) ok = energy(&x, &y, permutations, seed, out);
    out->a_used = x.count;
    out->b_used = y.count;
    out->permutations = permutations;
    ex_vectors_free(&x);
    ex_vectors_free(&y);
    return ok;
}
