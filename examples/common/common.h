/* common.h - what the example programs share; one include for all of it

   options.h   the command line: a table of options, --help, one-line complaints
   terminal.h  clock, Ctrl-C, progress bar, tables
   files.h     growing text, whole files, atomic writes, folders and their lock
   data.h      CSV and JSON writers
   canvas.h    anti-aliased shapes and text on an RGB picture, PNG out
   plot.h      line charts, bar charts, heat maps, box plots, several on one figure
   pool.h      many runs, several at a time, each in a process of its own

   POSIX and C99. Nothing here is part of the library: the three headers never include it. */

#ifndef EX_COMMON_H
#define EX_COMMON_H

#include "canvas.h"
#include "data.h"
#include "files.h"
#include "options.h"
#include "plot.h"
#include "pool.h"
#include "terminal.h"

#endif
