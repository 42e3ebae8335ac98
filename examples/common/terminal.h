/* terminal.h - clock, Ctrl-C, progress and tables */

#ifndef EX_TERMINAL_H
#define EX_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "options.h"

/* Seconds since some moment; never runs backwards. */
double ex_clock_s(void);

/* From now on the first Ctrl-C (or SIGTERM, SIGHUP) only makes ex_interrupted() true, so that a program can finish
   its step and save. The second ends the program at once, as the signal would have. */
void ex_catch_interrupts(void);
bool ex_interrupted(void);
/* The status to leave with after an interrupt: 128 + the signal's number. */
int ex_interrupt_status(void);

/* Progress of long work, on stderr: a bar with the time left when that is a terminal (at most ten a second), a
   line every five seconds otherwise, nothing when quiet.

       ex_progress bar;
       ex_progress_start(&bar, "training", episodes, quiet);
       for (...) ex_progress_step(&bar, episode, "return %.0f best %.0f", last, best);
       ex_progress_end(&bar, "trained %d episodes", episodes); */
typedef struct ex_progress {
    char what[48];
    int64_t total, done;
    double start_s, shown_s;
    bool quiet, tty, on_screen;
} ex_progress;

void ex_progress_start(ex_progress *p, const char *what, int64_t total, bool quiet);
/* `done` of total are done. The message is formatted only if it is going to be shown; NULL or "" for none. */
void ex_progress_step(ex_progress *p, int64_t done, const char *format, ...) EX_PRINTF(3, 4);
/* Takes the bar away and leaves a line with the message and the time it took. NULL: leaves nothing. */
void ex_progress_end(ex_progress *p, const char *format, ...) EX_PRINTF(2, 3);
/* Wipes a bar that is on the screen, so that a line of text can take its place; it comes back by itself. */
void ex_clear_progress(void);
/* "47 s", "3 min 05 s", "2 h 10 min" */
const char *ex_duration(double seconds, char out[32]);

/* A table for people. The first row is the heading. A column whose cells are all numbers is set flush right. */
typedef struct ex_table {
    char *text;         /* all cells, each ended by \0 */
    size_t size, room;
    int32_t *row_cells; /* cells of each row; -1: a rule */
    int32_t rows, rows_room;
    bool failed; /* out of memory: print says so */
} ex_table; /* zeroed is empty */

void ex_table_cell(ex_table *t, const char *format, ...) EX_PRINTF(2, 3);
void ex_table_row(ex_table *t);  /* ends the row */
void ex_table_rule(ex_table *t); /* a line across */
void ex_table_print(ex_table *t, FILE *to);
void ex_table_free(ex_table *t);

#endif
