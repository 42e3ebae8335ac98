/* font.h - the letters behind ex_draw_text; programs use canvas.h */

#ifndef EX_FONT_H
#define EX_FONT_H

#include <stdint.h>

/* A letter as pen strokes in units of which capitals are 72 high; y up, 0 the baseline, x from 0 to width.

   The path: letters and whole numbers. M x y lifts the pen to a point; L x y ... draws lines; C x1 y1 x2 y2 x y
   draws a cubic curve; A x y rx ry from to draws an arc about (x, y) between two angles in degrees (0 is right,
   90 is up), joined to what came before by a line unless M lifted the pen (M without numbers); D x y is a dot. */
typedef struct ex_glyph {
    uint32_t code;
    int32_t left, width, right; /* room before, ink, room after */
    const char *path;
} ex_glyph;

const ex_glyph *ex_glyph_of(uint32_t code); /* never NULL: a small box for what is unknown */

#endif
