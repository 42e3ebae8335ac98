/* proc.c - what the kernel says of the host, read */

#include "agent.h"

#include <stdio.h>
#include <string.h>

/* No counter of the kernel's ticks comes near: sums of them fit. */
#define TICKS_MOST ((uint64_t)1 << 60)

typedef struct cursor {
    const char *at, *end;
} cursor;

static bool next_line(cursor *all, cursor *line)
{
    const char *end = all->at < all->end ? memchr(all->at, '\n', (size_t)(all->end - all->at)) : NULL;

    if (!end) return false;
    line->at = all->at;
    line->end = end;
    all->at = end + 1;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void blanks(cursor *c)
{
    while (c->at < c->end && is_blank(*c->at)) c->at++;
}

static bool is_digit(const cursor *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

/* Digits that fit into 64 bits. */
static bool digits(cursor *c, uint64_t *out)
{
    const char *from = c->at;

    for (*out = 0; is_digit(c); c->at++) {
        uint64_t digit = (uint64_t)(*c->at - '0');
        if (*out > (UINT64_MAX - digit) / 10) return false;
        *out = 10 * *out + digit;
    }
    return c->at > from;
}

/* A number between blanks. */
static bool number(cursor *c, uint64_t *out)
{
    blanks(c);
    return digits(c, out) && (c->at == c->end || is_blank(*c->at));
}

static bool take(cursor *c, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

/* ---- /proc/stat ------------------------------------------------------------------------------------------------- */

/* "cpu" or "cpu7", and four numbers or more: older kernels have less. */
static bool cpu_line(cursor line, ua_cpu *out)
{
    uint64_t n;
    int i;

    memset(out, 0, sizeof *out);
    out->number = -1;
    if (!take(&line, "cpu")) return false;
    if (is_digit(&line)) {
        if (!digits(&line, &n) || n > INT32_MAX) return false;
        out->number = (int32_t)n;
    }
    if (line.at == line.end || !is_blank(*line.at)) return false;
    for (i = 0; i < UA_CPU_FIELDS; i++) {
        blanks(&line);
        if (line.at == line.end) break;
        if (!number(&line, &out->ticks[i]) || out->ticks[i] > TICKS_MOST) return false;
    }
    return i > UA_IDLE;
}

bool ua_stat_read(const char *text, size_t size, ua_stat *out, char why[UA_WORDS_MOST])
{
    cursor all = { text, text + size }, line;
    bool found = false;
    ua_cpu cpu;

    memset(out, 0, sizeof *out);
    while (next_line(&all, &line)) {
        if (!cpu_line(line, &cpu)) continue;
        if (cpu.number < 0 && !found) {
            out->all = cpu;
            found = true;
        } else if (cpu.number >= 0 && out->count < UA_CPUS_MOST &&
                   (out->count == 0 || cpu.number > out->cpu[out->count - 1].number)) {
            out->cpu[out->count++] = cpu;
        }
    }
    snprintf(why, UA_WORDS_MOST, "%s", found ? "" : "no line 'cpu' in it");
    return found;
}

/* ---- /proc/meminfo ---------------------------------------------------------------------------------------------- */

#define UA_MEMORY_KERNEL(id, kernel, field) kernel,
static const char *const memory_name[] = { UA_MEMORY(UA_MEMORY_KERNEL) };

static int32_t memory_field(cursor name)
{
    size_t n = (size_t)(name.end - name.at);
    int32_t i;

    for (i = 0; i < UA_MEMORY_FIELDS; i++) {
        if (strlen(memory_name[i]) == n && memcmp(memory_name[i], name.at, n) == 0) return i;
    }
    return -1;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* "Name:   123 kB", or no unit. Answers the field, -1: none of ours. */
static int32_t memory_line(cursor line, uint64_t *value)
{
    const char *colon = line.at < line.end ? memchr(line.at, ':', (size_t)(line.end - line.at)) : NULL;
    cursor name = { line.at, colon };
    int32_t field;

    if (!colon) return -1;
    field = memory_field(name);
    line.at = colon + 1;
    if (field < 0 || !number(&line, value)) return -1;
    blanks(&line);
    if (line.at == line.end) return field;
    if (!take(&line, "kB") || line.at != line.end) return -1;
    *value = *value > UINT64_MAX / 1024 ? UINT64_MAX : 1024 * *value;
    return field;
}

bool ua_memory_read(const char *text, size_t size, ua_memory *out, char why[UA_WORDS_MOST])
{
    cursor all = { text, text + size }, line;
    bool seen[UA_MEMORY_FIELDS] = { false };
    uint64_t value, *v = out->value;
    int32_t field;

    memset(out, 0, sizeof *out);
    while (next_line(&all, &line)) {
        field = memory_line(line, &value);
        if (field < 0 || seen[field]) continue;
        v[field] = value;
        seen[field] = true;
    }
    v[UA_MEMORY_CACHED] = sum(v[UA_MEMORY_CACHED], v[UA_MEMORY_RECLAIMABLE]);
    if (!seen[UA_MEMORY_AVAILABLE]) { /* kernels before 3.14 */
        v[UA_MEMORY_AVAILABLE] = sum(v[UA_MEMORY_FREE], sum(v[UA_MEMORY_BUFFERS], v[UA_MEMORY_CACHED]));
    }
    if (v[UA_MEMORY_AVAILABLE] > v[UA_MEMORY_TOTAL]) v[UA_MEMORY_AVAILABLE] = v[UA_MEMORY_TOTAL];
    why[0] = '\0';
    if (!v[UA_MEMORY_TOTAL] || !seen[UA_MEMORY_FREE]) {
        snprintf(why, UA_WORDS_MOST, "no %s in it", v[UA_MEMORY_TOTAL] ? "MemFree" : "MemTotal");
    }
    return !why[0];
}

/* ---- /proc/net/dev ---------------------------------------------------------------------------------------------- */

/* The kernel allows any bytes in a name but blanks, slashes and colons. */
static bool nic_name(cursor name, char out[UA_NIC_NAME_MOST])
{
    size_t n, i;

    blanks(&name);
    n = (size_t)(name.end - name.at);
    if (n == 0 || n >= UA_NIC_NAME_MOST) return false;
    for (i = 0; i < n; i++) {
        if (strchr(" \t\v\f\r/:", name.at[i])) return false; /* and no \0, which strchr finds too */
    }
    memcpy(out, name.at, n);
    out[n] = '\0';
    return true;
}

/* Sixteen columns: bytes, packets, errors, drops and four more, received, then the same sent. */
static bool nic_line(cursor line, const char *colon, ua_nic *out)
{
    uint64_t column[12];
    cursor name = { line.at, colon };
    int i;

    memset(out, 0, sizeof *out);
    if (!nic_name(name, out->name)) return false;
    line.at = colon + 1;
    for (i = 0; i < 12; i++) {
        if (!number(&line, &column[i])) return false;
    }
    out->bytes_recv = column[0];
    out->packets_recv = column[1];
    out->err_in = column[2];
    out->drop_in = column[3];
    out->bytes_sent = column[8];
    out->packets_sent = column[9];
    out->err_out = column[10];
    out->drop_out = column[11];
    return true;
}

static bool known(const ua_net *net, const char *name)
{
    int32_t i;

    for (i = 0; i < net->count && strcmp(net->nic[i].name, name) != 0; i++) {}
    return i < net->count;
}

bool ua_net_read(const char *text, size_t size, ua_net *out, char why[UA_WORDS_MOST])
{
    cursor all = { text, text + size }, line;
    const char *colon;
    ua_nic nic;

    memset(out, 0, sizeof *out);
    while (next_line(&all, &line)) {
        colon = line.at < line.end ? memchr(line.at, ':', (size_t)(line.end - line.at)) : NULL;
        if (!colon) continue; /* a heading */
        if (out->count < UA_NICS_MOST && nic_line(line, colon, &nic) && !known(out, nic.name)) {
            out->nic[out->count++] = nic;
        } else {
            out->left_out++;
        }
    }
    snprintf(why, UA_WORDS_MOST, "%s", out->count ? "" : "no interface in it");
    return out->count > 0;
}

/* ---- /sys/class/net/NAME/flags ---------------------------------------------------------------------------------- */

bool ua_flags_up(const char *text, size_t size)
{
    enum { FLAG_UP = 1, FLAG_LOOPBACK = 8 };
    static const char hex[] = "0123456789abcdef";
    const char *place;
    uint32_t flags = 0;
    size_t i;

    if (size < 3 || text[0] != '0' || text[1] != 'x') return false;
    for (i = 2; i < size && text[i] != '\n'; i++) {
        place = text[i] ? strchr(hex, text[i]) : NULL;
        if (!place || flags >> 28) return false;
        flags = flags << 4 | (uint32_t)(place - hex);
    }
    return (flags & FLAG_UP) && !(flags & FLAG_LOOPBACK);
}
