/* source.h - what the rooms behind source.c share */

#ifndef UD_SOURCE_H
#define UD_SOURCE_H

#include "udp.h"

#include <math.h>

#define UD_NAN ((double)NAN)
#define UD_INFINITY ((double)INFINITY)

enum { UD_COLUMNS_MOST = 64, UD_READINGS_MOST = 4096 };

/* ---- table.c ----------------------------------------------------------------------------------------------------- */

/* Writes it down; false, always. */
bool ud_wrong(char why[160], const char *format, ...) EX_PRINTF(2, 3);

/* CSV as RFC 4180 has it: commas, fields in quotes where need be, lines that end in \n or \r\n. */
typedef struct ud_csv {
    char *text, *at, *end;
    int32_t line, next_line; /* of the latest row; of the one after */
    bool cut;                /* the latest row has no line end: the text is not whole */
    char why[160];
} ud_csv;

/* A copy to be split. False: not text, or no memory, and why. */
bool ud_csv_open(ud_csv *c, const char *text, size_t size);
/* How many fields the next row has, an empty line one; 0: there is none; -1: not CSV, and why. Fields last until
   ud_csv_close. */
int32_t ud_csv_row(ud_csv *c, char **field, int32_t most);
void ud_csv_close(ud_csv *c);

/* "2026-11-22T01:02:03.456789Z" as Unix time; NaN: it is none. */
double ud_time_of(const char *text);
/* As a reading of which nothing is said yet. False: no host has that name. */
bool ud_reading_begin(ud_reading *r, const char *host, double at_s);
/* A name of a client or host: printable, no longer than it may be. */
bool ud_name_ok(const char *name);

/* ---- influx.c ---------------------------------------------------------------------------------------------------- */

/* The address that asks v1 for the latest readings of range_s seconds, of Telegraf's schema or collectd's. */
void ud_influx1_url(const char *base, const char *database, bool collectd, double range_s, ex_text *to);
/* The same of v2: an address, and the body to be posted there. The bucket's name is whatever it is. */
void ud_influx2_url(const char *base, const char *org, ex_text *to);
bool ud_influx2_body(const char *bucket, double range_s, ex_text *to);
/* What an InfluxDB says is wrong, in its own words; empty: it is not said. */
void ud_influx_error(const char *text, size_t size, char why[160]);

#endif
