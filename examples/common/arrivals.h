/* arrivals.h - recorded load; when an open loop sends: at random, evenly, or as recorded */

#ifndef EX_ARRIVALS_H
#define EX_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "../../rllb.h"
#include "../../rllb_env.h"

/* A file of times or amounts, see rllb_env.h. NULL: said on stderr, file and line. */
rllb_env_trace *ex_trace_read(const char *path);

enum { EX_ARRIVALS_POISSON, EX_ARRIVALS_EVEN, EX_ARRIVALS_TRACE };

typedef struct ex_arrivals {
    int32_t law;
    double rate;       /* a second; TRACE of requests: 0 is the file's own pace */
    double duration_s; /* what comes later than that does not come; TRACE of requests: 0 is once through the file */
    rllb_env_trace *trace; /* for TRACE; closing destroys it */
    rllb_rng rng;
    double scale, length_s; /* seconds of the run to one of the file; length of the file */
    double last_s, own_s;   /* the last arrival; amounts: where in the file */
    int64_t row, turn;
} ex_arrivals;

/* Set law, rate, duration_s and trace; path: the name of its file. EX_GO_ON, or the status to leave with, said on
   stderr. */
int ex_arrivals_open(ex_arrivals *a, const char *path, uint64_t seed, uint64_t stream);
void ex_arrivals_close(ex_arrivals *a);
/* Of the next one, seconds from the start, never falling; HUGE_VAL: there are no more. */
double ex_arrivals_next(ex_arrivals *a);

#endif
