/* wire.h - what backend and load share: an alarm finer than a millisecond, writing to a connection, one header's value

   Times are nanoseconds of uv_hrtime. Where the system has timerfd an alarm rings within some tens of microseconds;
   elsewhere the loop's own timers serve, to the millisecond. One loop, one thread. */

#ifndef PX_WIRE_H
#define PX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define PX_NEVER UINT64_MAX

typedef struct px_alarm {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    int fd;         /* -1: the timer serves */
    uint64_t at_ns; /* when it rings; PX_NEVER: not set */
    void (*ring)(void *self);
    void *self;
} px_alarm;

bool px_alarm_open(px_alarm *a, uv_loop_t *loop, void (*ring)(void *self), void *self); /* false: said on stderr */
/* Rings at that time, or earlier if it was set so before: whoever is rung looks at the clock, and sets it anew. */
void px_alarm_set(px_alarm *a, uint64_t at_ns);
void px_alarm_close(px_alarm *a);

/* Writes what the socket takes now and queues a copy of the rest. 0: all is out. 1: done(stream, status) will be called
   when the rest is; not if the stream is closed first. Negative: an error of libuv. count is at most 2. */
typedef void (*px_sent_fn)(uv_stream_t *stream, int status);
int px_send(uv_stream_t *stream, const uv_buf_t *parts, unsigned count, px_sent_fn done);

/* The value of the first header of one name, out of the pieces in which http_parser hands headers over. */
typedef struct px_caught {
    char value[64]; /* what does not fit is left out */
    size_t size, matched;
    bool found, in_name, over; /* over: the value is whole */
} px_caught;
void px_caught_begin(px_caught *c);
void px_caught_name(px_caught *c, const char *name, const char *at, size_t size); /* name: the one wanted, lower case */
void px_caught_value(px_caught *c, const char *name, const char *at, size_t size);
const char *px_caught_text(px_caught *c); /* without the blanks behind it, which http_parser leaves; "" if none came */

/* At the start: as many open files as the system lets a program have, and writing to a connection that is closed is an
   error, not the end. */
void px_wire_begin(void);

#endif
