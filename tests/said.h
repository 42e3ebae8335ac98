/* said.h - what is said on stderr while it is caught

       catch_stderr();
       ok = ex_model_open(path, &model);
       CHECK_EQ_I(release_stderr(), 1);                   how many lines
       CHECK(strstr(said, path) != NULL); */

#ifndef SAID_H
#define SAID_H

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static char said[4096];
static FILE *said_file;
static int said_before; /* where stderr went */

static inline void catch_stderr(void)
{
    fflush(stderr);
    said_file = tmpfile();
    said_before = dup(STDERR_FILENO);
    if (said_file) dup2(fileno(said_file), STDERR_FILENO);
}

static inline int32_t lines_said(void)
{
    int32_t lines = 0;
    size_t i;

    for (i = 0; said[i]; i++) lines += said[i] == '\n';
    return lines;
}

static inline int32_t release_stderr(void)
{
    size_t n = 0;

    fflush(stderr);
    dup2(said_before, STDERR_FILENO);
    close(said_before);
    if (said_file) {
        rewind(said_file);
        n = fread(said, 1, sizeof said - 1, said_file);
        fclose(said_file);
    }
    said[n] = '\0';
    return lines_said();
}

#endif
