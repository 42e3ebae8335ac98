/* library.h - the last complaint of ex_fail */

#ifndef NX_LIBRARY_H
#define NX_LIBRARY_H

enum { NX_SAID = 400 };

extern char nx_said[NX_SAID];

#endif
