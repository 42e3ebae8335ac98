/* terminal.c - see terminal.h */

#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L

#include "terminal.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* ---- clock and Ctrl-C -------------------------------------------------------------------------------------- */

static volatile sig_atomic_t caught_signal;
static bool bar_on_screen; /* one terminal, so one bar */

double ex_clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The second signal finds the default action back in place (SA_RESETHAND). */
static void on_signal(int signal_number)
{
    caught_signal = signal_number;
}

void ex_catch_interrupts(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action;
    size_t i;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    for (i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}

bool ex_interrupted(void)
{
    return caught_signal != 0;
}

int ex_interrupt_status(void)
{
    return 128 + (int)caught_signal;
}

/* ---- progress ---------------------------------------------------------------------------------------------- */

enum { BAR_LEAST = 10, BAR_MOST = 30, LINE_BYTES = 512 };
#define BAR_EVERY_S 0.1
#define LINE_EVERY_S 5.0

const char *ex_duration(double seconds, char out[32])
{
    long s = seconds > 0 ? (seconds < 3.6e6 ? (long)(seconds + 0.5) : 3600000L) : 0;

    if (seconds >= 3.6e6) snprintf(out, 32, "over 1000 h");
    else if (seconds < 9.95) snprintf(out, 32, "%.1f s", seconds > 0 ? seconds : 0);
    else if (s < 60) snprintf(out, 32, "%ld s", s);
    else if (s < 3600) snprintf(out, 32, "%ld min %02ld s", s / 60, s % 60);
    else snprintf(out, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    return out;
}

static int terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

void ex_clear_progress(void)
{
    if (bar_on_screen) fputs("\r\033[K", stderr);
    bar_on_screen = false;
}

void ex_progress_start(ex_progress *p, const char *what, int64_t total, bool quiet)
{
    memset(p, 0, sizeof *p);
    snprintf(p->what, sizeof p->what, "%s", what);
    p->total = total;
    p->quiet = quiet;
    p->tty = isatty(STDERR_FILENO) != 0;
    p->start_s = ex_clock_s();
    p->shown_s = p->tty ? p->start_s - BAR_EVERY_S : p->start_s;
}

/* [####------]: eighths would be finer, but not every terminal has the signs. */
static void bar_text(char *out, int cells, double share)
{
    int full = (int)(share * cells), i;

    out[0] = '[';
    for (i = 0; i < cells; i++) out[i + 1] = i < full ? '#' : '-';
    out[cells + 1] = ']';
    out[cells + 2] = '\0';
}

/* What matters most stands first, since a narrow terminal cuts off the end. */
static void show(const ex_progress *p, double now_s, const char *message)
{
    double share = p->total > 0 ? (double)p->done / (double)p->total : 0, elapsed_s = now_s - p->start_s;
    char line[LINE_BYTES], bar[BAR_MOST + 3] = "", left[32], time_left[48] = "";
    int columns, cells, used;

    if (share > 1) share = 1;
    if (share > 0 && elapsed_s > 0.5) {
        snprintf(time_left, sizeof time_left, ", %s left", ex_duration(elapsed_s * (1 - share) / share, left));
    }
    if (!p->tty) {
        fprintf(stderr, "%s: %.0f %%%s%s%s\n", p->what, 100 * share, time_left, *message ? ", " : "", message);
        return;
    }
    columns = terminal_columns();
    used = snprintf(line, sizeof line, "%s %3.0f %%%s%s%s", p->what, 100 * share, time_left, *message ? "  " : "",
                    message);
    cells = columns - used - 4;
    if (cells > BAR_MOST) cells = BAR_MOST;
    if (cells >= BAR_LEAST) bar_text(bar, cells, share);
    used = snprintf(line, sizeof line, "%s %s%s%3.0f %%%s%s%s", p->what, bar, *bar ? " " : "", 100 * share, time_left,
                    *message ? "  " : "", message);
    if (used >= columns) line[columns > 1 ? columns - 1 : 0] = '\0';
    fprintf(stderr, "\r%s\033[K", line);
    bar_on_screen = true;
}

void ex_progress_step(ex_progress *p, int64_t done, const char *format, ...)
{
    double now_s;
    char message[256] = "";
    va_list values;

    p->done = done;
    if (p->quiet) return;
    now_s = ex_clock_s();
    if (now_s - p->shown_s < (p->tty ? BAR_EVERY_S : LINE_EVERY_S)) return;
    p->shown_s = now_s;
    if (format && *format) {
        va_start(values, format);
        vsnprintf(message, sizeof message, format, values);
        va_end(values);
    }
    show(p, now_s, message);
}

void ex_progress_end(ex_progress *p, const char *format, ...)
{
    char message[256], took[32];
    va_list values;

    ex_clear_progress();
    if (p->quiet || !format) return;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    fprintf(stderr, "%s in %s\n", message, ex_duration(ex_clock_s() - p->start_s, took));
}

/* ---- tables ------------------------------------------------------------------------------------------------ */

static bool table_room(ex_table *t, size_t bytes)
{
    if (t->size + bytes > t->room) {
        size_t room = 2 * t->room + bytes + 256;
        char *more = realloc(t->text, room);
        if (!more) t->failed = true;
        if (!more) return false;
        t->text = more;
        t->room = room;
    }
    if (t->rows + 2 > t->rows_room) {
        int32_t rows_room = 2 * t->rows_room + 16;
        int32_t *more = realloc(t->row_cells, (size_t)rows_room * sizeof *more);
        if (!more) t->failed = true;
        if (!more) return false;
        memset(more + t->rows_room, 0, (size_t)(rows_room - t->rows_room) * sizeof *more);
        t->row_cells = more;
        t->rows_room = rows_room;
    }
    return true;
}

void ex_table_cell(ex_table *t, const char *format, ...)
{
    char cell[256];
    va_list values;
    size_t bytes;

    va_start(values, format);
    vsnprintf(cell, sizeof cell, format, values);
    va_end(values);
    bytes = strlen(cell) + 1;
    if (!table_room(t, bytes)) return;
    memcpy(t->text + t->size, cell, bytes);
    t->size += bytes;
    t->row_cells[t->rows]++;
}

void ex_table_row(ex_table *t)
{
    if (table_room(t, 0)) t->rows++;
}

void ex_table_rule(ex_table *t)
{
    if (!table_room(t, 0)) return;
    t->row_cells[t->rows] = -1;
    t->rows++;
}

static int shown_width(const char *text)
{
    int n = 0;

    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80; /* characters, not bytes, of UTF-8 */
    return n;
}

static bool looks_like_number(const char *text)
{
    if (*text == '\0' || strcmp(text, "-") == 0 || strcmp(text, "n/a") == 0 || strcmp(text, "nan") == 0) return true;
    if (*text == '-' || *text == '+' || *text == '.') text++;
    return isdigit((unsigned char)*text) || strncmp(text, "inf", 3) == 0;
}

void ex_table_print(ex_table *t, FILE *to)
{
    enum { COLUMNS = 32 };
    int wide[COLUMNS] = { 0 }, total = 0;
    bool number[COLUMNS];
    int32_t row, column, columns = 0;
    const char *cell;

    if (t->failed) {
        fprintf(to, "(the table did not fit into memory)\n");
        return;
    }
    for (column = 0; column < COLUMNS; column++) number[column] = true;
    for (row = 0, cell = t->text; row < t->rows; row++) {
        for (column = 0; column < t->row_cells[row]; column++, cell += strlen(cell) + 1) {
            int w = shown_width(cell);
            if (column >= COLUMNS) continue;
            if (w > wide[column]) wide[column] = w;
            if (row > 0 && !looks_like_number(cell)) number[column] = false;
            if (column >= columns) columns = column + 1;
        }
    }
    for (column = 0; column < columns; column++) total += wide[column] + (column ? 2 : 0);
    for (row = 0, cell = t->text; row < t->rows; row++) {
        int owed = 0; /* blanks not yet written, so that no line ends in blanks */
        if (t->row_cells[row] < 0) {
            for (column = 0; column < total; column++) fputc('-', to);
        }
        for (column = 0; column < t->row_cells[row]; column++, cell += strlen(cell) + 1) {
            int pad;
            if (column >= COLUMNS) continue;
            pad = wide[column] - shown_width(cell);
            if (number[column]) fprintf(to, "%*s%s", owed + pad, "", cell);
            else fprintf(to, "%*s%s", owed, "", cell);
            owed = number[column] ? 2 : pad + 2;
        }
        fputc('\n', to);
        if (row == 0) {
            for (column = 0; column < total; column++) fputc('-', to);
            fputc('\n', to);
        }
    }
}

void ex_table_free(ex_table *t)
{
    free(t->text);
    free(t->row_cells);
    memset(t, 0, sizeof *t);
}
