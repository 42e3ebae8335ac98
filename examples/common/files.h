/* files.h - growing text, whole files, folders

   A file appears complete or not at all: it is written to a temporary name in the same folder, synced, and renamed.
   Interrupts are held back meanwhile, so nothing half-written stays behind. Functions that answer bool have said
   what is wrong on stderr (one line, naming the file or folder) when they answer false. */

#ifndef EX_FILES_H
#define EX_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "options.h"

/* Text (or bytes) that grows. Zeroed is empty. data ends with \0 that size does not count; NULL while empty.
   Out of memory sets `failed`, and writing it is refused. */
typedef struct ex_text {
    char *data;
    size_t size, room;
    bool failed;
} ex_text;

void ex_text_printf(ex_text *t, const char *format, ...) EX_PRINTF(2, 3);
void ex_text_add(ex_text *t, const void *bytes, size_t size);
void ex_text_free(ex_text *t);
/* As a part of an address of the web: %20 and the like. */
void ex_text_escape(ex_text *to, const char *text);

/* The whole file into *out (which must be empty), refused if larger than limit_bytes. */
bool ex_file_read(const char *path, size_t limit_bytes, ex_text *out);
bool ex_file_write(const char *path, const void *bytes, size_t size);
bool ex_text_write(const ex_text *t, const char *path);
/* For what is written again and again, like a status: whole or not at all for whoever reads it now, but the disk is not
   waited for, and after a power cut it may be anything. Prints nothing. 0, or errno. */
int ex_file_replace(const char *path, const void *bytes, size_t size, mode_t mode);

typedef struct ex_path {
    char text[1024]; /* empty if it would not fit: every function here refuses that */
} ex_path;

ex_path ex_path_join(const char *folder, const char *name);

/* Makes the folder and those above it; one that exists is fine. */
bool ex_folder_make(const char *path);

/* A folder that only one program at a time may write into. The lock is on the folder itself, no file is left, and
   it ends with the program, however that ends. File systems without locks are used without. */
typedef struct ex_lock {
    int fd; /* -1: not locked */
} ex_lock;

/* Makes the folder if needed, checks that it can be written into, and locks it. */
bool ex_folder_lock(const char *path, ex_lock *out);
void ex_folder_unlock(ex_lock *lock);

/* Holds SIGINT, SIGTERM and SIGHUP back between the two calls (they nest). */
void ex_signals_hold(void);
void ex_signals_release(void);

#endif
