/* data.h - CSV and JSON onto an ex_text. The same calls give the same bytes; numbers read back as they were. */

#ifndef EX_DATA_H
#define EX_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "files.h"

/* The shortest of a few forms that reads back as the same number. "nan", "inf", "-inf" if not finite. */
const char *ex_number_double(double value, char out[32]);
const char *ex_number_float(float value, char out[32]);

/* ---- CSV: commas, \n, quotes where needed. ----------------------------------------------------------------- */

typedef struct ex_csv {
    ex_text *to;
    bool row_open;
} ex_csv; /* { .to = &text } */

void ex_csv_header(ex_csv *c, const char *names); /* "episode,return,length": a whole row as it stands */
void ex_csv_string(ex_csv *c, const char *value);
void ex_csv_int(ex_csv *c, int64_t value);
void ex_csv_double(ex_csv *c, double value);
void ex_csv_float(ex_csv *c, float value);
void ex_csv_row(ex_csv *c); /* ends the row */

/* ---- JSON: indented by two; a `row` is an object on one line. ---------------------------------------------- */

#define EX_JSON_DEPTH 32

/* key is NULL inside arrays and for the outermost value. NaN and infinities become null; bytes that are not UTF-8
   become U+FFFD. Wrong nesting or a missing key marks the text as failed, so it cannot be written. */
typedef struct ex_json {
    ex_text *to;
    int32_t depth, flat; /* flat: depth at which one-line writing began, 0 = not */
    char kind[EX_JSON_DEPTH]; /* '{' or '[' */
    int32_t items[EX_JSON_DEPTH + 1];
} ex_json; /* { .to = &text } */

void ex_json_object(ex_json *j, const char *key);
void ex_json_array(ex_json *j, const char *key);
void ex_json_row(ex_json *j, const char *key);      /* object on one line */
void ex_json_row_array(ex_json *j, const char *key); /* array on one line */
void ex_json_end(ex_json *j);
void ex_json_string(ex_json *j, const char *key, const char *value); /* NULL: null */
void ex_json_int(ex_json *j, const char *key, int64_t value);
void ex_json_uint(ex_json *j, const char *key, uint64_t value);
void ex_json_double(ex_json *j, const char *key, double value);
void ex_json_float(ex_json *j, const char *key, float value);
void ex_json_bool(ex_json *j, const char *key, bool value);
/* Refuses unless all that was opened is closed; ends the last line and writes the file. */
bool ex_json_write(ex_json *j, const char *path);

#endif
