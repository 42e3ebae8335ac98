/* queue.c - lines that wait for the database */

#include "agent.h"

#include <stdlib.h>
#include <string.h>

bool ua_queue_create(ua_queue *q, int32_t lines)
{
    memset(q, 0, sizeof *q);
    q->line = calloc((size_t)lines, sizeof *q->line);
    q->room = q->line ? lines : 0;
    if (!q->line) ex_fail("not enough memory for a buffer of %d lines", (int)lines);
    return q->line != NULL;
}

static void forget_oldest(ua_queue *q)
{
    free(q->line[q->first]);
    q->line[q->first] = NULL;
    q->first = (q->first + 1) % q->room;
    q->count--;
}

void ua_queue_destroy(ua_queue *q)
{
    while (q->count > 0) forget_oldest(q);
    free(q->line);
    memset(q, 0, sizeof *q);
}

/* The oldest may be under way: whether it is lost shows when the answer comes. */
static void make_room(ua_queue *q)
{
    if (q->doubtful < q->under_way) q->doubtful++;
    else q->dropped++;
    forget_oldest(q);
}

void ua_queue_add(ua_queue *q, const char *line, size_t size)
{
    char *copy = malloc(size + 1);

    q->added++;
    if (!copy) {
        q->dropped++;
        return;
    }
    memcpy(copy, line, size);
    copy[size] = '\0';
    if (q->count == q->room) make_room(q);
    q->line[(q->first + q->count) % q->room] = copy;
    q->count++;
}

int32_t ua_queue_take(ua_queue *q, int32_t lines, size_t bytes, ex_text *out)
{
    const char *line;
    int32_t n;
    size_t size;

    for (n = 0; n < q->count && n < lines; n++) {
        line = q->line[(q->first + n) % q->room];
        size = strlen(line);
        if (n > 0 && out->size + size + 1 > bytes) break;
        ex_text_add(out, line, size);
        ex_text_add(out, "\n", 1);
    }
    q->under_way = n;
    q->doubtful = 0;
    return n;
}

void ua_queue_settle(ua_queue *q, ua_outcome outcome)
{
    int32_t n = q->under_way, waiting = n - q->doubtful;

    if (outcome == UA_FAILED) {
        q->dropped += (uint64_t)q->doubtful;
    } else {
        *(outcome == UA_WRITTEN ? &q->written : &q->refused) += (uint64_t)n;
        while (waiting-- > 0) forget_oldest(q);
    }
    q->under_way = q->doubtful = 0;
}
