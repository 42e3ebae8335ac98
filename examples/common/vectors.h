/* vectors.h - sets of load vectors: read from CSV, each one's nearest in another set, two sets as two samples

   Distances are Euclidean and in double precision; the nearest is the nearest, not an approximation. */

#ifndef EX_VECTORS_H
#define EX_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

enum { EX_VECTORS_SIZE_MAX = 1024 };

typedef struct ex_vectors {
    int32_t count, size; /* rows, columns */
    double *values;      /* [count][size] */
    char (*names)[64];   /* [size]; NULL if they have none */
    double full;         /* what the values were divided by */
} ex_vectors; /* zeroed is empty */

/* What to read. Fields are apart by commas, semicolons or tabs; a first line of numbers only is no header. */
typedef struct ex_vectors_desc {
    const char *files;   /* one, or several by comma: their columns side by side */
    const char *columns; /* of every file: names, or numbers from 1, by comma. NULL: those called server..., if there
                            are any; otherwise all numbers but those called time, step, index, action and the like */
    bool by_time;        /* several files: rows with the same text in the time column, not the same place */
    double full;         /* what is full load in the files; 0: 1 if no value is above 1.5, 100 if none is above 110,
                            the greatest value otherwise */
} ex_vectors_desc;

/* False: said on stderr, file and line. */
bool ex_vectors_read(const ex_vectors_desc *desc, ex_vectors *out);
/* False if there is no memory. */
bool ex_vectors_make(ex_vectors *out, int32_t count, int32_t size);
void ex_vectors_free(ex_vectors *v);
/* `count` rows of v drawn without repetition, in their order; all of them if there are no more. rows: which they are,
   may be NULL. */
bool ex_vectors_sample(const ex_vectors *v, int32_t count, uint64_t seed, ex_vectors *out, int32_t *rows);
const double *ex_vectors_row(const ex_vectors *v, int32_t row);
double ex_vectors_distance(const double *a, const double *b, int32_t size);

/* For every row of `from` the distance to the nearest of `among`, and which (the first of equals). but_not[i]: the row
   of `among` that row i may not choose, -1 none; NULL: none for all. A k-d tree whose leaves are compared a leaf of
   queries at a time. False: the sizes differ, there is nothing to choose, or there is no memory. */
bool ex_vectors_nearest(const ex_vectors *from, const ex_vectors *among, const int32_t *but_not, double *distance,
                        int32_t *row);

/* Are two sets drawn from one distribution? The energy distance (Szekely and Rizzo 2004),
       E = 2 mean|x - y| - mean|x - x'| - mean|y - y'|,
   is 0 for equal distributions and only then; coefficient is E / (2 mean|x - y|), between 0 and 1. p is the share of
   random relabellings (the given one among them) whose E is at least as great. Sets larger than `sample` are sampled.
 */
typedef struct ex_energy {
    double distance, coefficient, p;
    int32_t a_used, b_used, permutations;
} ex_energy;

bool ex_energy_test(const ex_vectors *a, const ex_vectors *b, int32_t sample, int32_t permutations, uint64_t seed,
                    ex_energy *out);

#endif
