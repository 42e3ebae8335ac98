/* canvas.h - anti-aliased shapes and text on an RGB picture

   Coordinates are pixels, x to the right, y down, (0, 0) the top left corner; pixel centres at .5. Shapes that leave
   the picture are cut off; coordinates that are not finite draw nothing. The letters are strokes of our own
   (font.c), so no font is needed and text is sharp at any size and angle. */

#ifndef EX_CANVAS_H
#define EX_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

/* 0xAARRGGBB; AA = 255 is opaque. */
typedef uint32_t ex_color;

#define EX_RGB(hex) (0xFF000000u | (hex))
#define EX_WHITE EX_RGB(0xFFFFFFu)
#define EX_INK EX_RGB(0x1F2933u)   /* titles */
#define EX_TEXT EX_RGB(0x3E4C59u)  /* labels */
#define EX_MUTED EX_RGB(0x6B7885u) /* what steps back: ticks, notes */
#define EX_GRID EX_RGB(0xE4E8ECu)
#define EX_AXIS EX_RGB(0x9AA5B1u)

/* Eight colours that the common kinds of colour blindness tell apart (after Okabe and Ito 2008); i is taken
   modulo 8. */
ex_color ex_palette(int32_t i);
/* A scale for heat maps, dark blue over green to yellow, even in lightness; at in [0, 1]. */
ex_color ex_ramp(double at);
ex_color ex_alpha(ex_color color, double opacity);
ex_color ex_mix(ex_color from, ex_color to, double at);

typedef struct ex_point {
    double x, y;
} ex_point;

typedef struct ex_rect {
    double x, y, width, height;
} ex_rect;

typedef struct ex_canvas {
    int32_t width, height;
    unsigned char *rgb;
    float *cover; /* coverage of the shape being drawn */
    ex_rect clip; /* nothing outside is touched; set freely */
} ex_canvas;

/* White. False (said on stderr) if the size is not within 1..8192 or there is no memory. */
bool ex_canvas_create(ex_canvas *c, int32_t width, int32_t height);
void ex_canvas_free(ex_canvas *c);
void ex_canvas_clear(ex_canvas *c, ex_color color);
void ex_canvas_clip_all(ex_canvas *c); /* back to the whole picture */
bool ex_canvas_write_png(const ex_canvas *c, const char *path);
/* The same picture several times as fast, in a file that may be larger: for the many frames of a video. */
bool ex_canvas_write_png_fast(const ex_canvas *c, const char *path);

typedef enum ex_dash { EX_SOLID, EX_DASHED, EX_DOTTED, EX_DASH_DOT, EX_LONG_DASH, EX_DASH_NUM } ex_dash;
typedef enum ex_marker {
    EX_NO_MARKER,
    EX_CIRCLE,
    EX_SQUARE,
    EX_TRIANGLE,
    EX_DIAMOND,
    EX_CROSS,
    EX_MARKER_NUM
} ex_marker;

/* Another picture, made to fit r: each pixel is the mean of what it covers. */
void ex_draw_picture(ex_canvas *c, ex_rect r, const ex_canvas *picture);
void ex_draw_rect(ex_canvas *c, ex_rect r, ex_color color);
void ex_draw_round_rect(ex_canvas *c, ex_rect r, double radius, ex_color color);
void ex_draw_frame(ex_canvas *c, ex_rect r, double width, ex_color color); /* outline, inside of r */
void ex_draw_line(ex_canvas *c, double x1, double y1, double x2, double y2, double width, ex_color color);
/* Round caps and joins; the line is one shape, so a half transparent one does not darken where it crosses itself.
   A point that is not finite interrupts it. */
void ex_draw_polyline(ex_canvas *c, const ex_point *points, int32_t count, double width, ex_dash dash,
                      ex_color color);
void ex_draw_polygon(ex_canvas *c, const ex_point *points, int32_t count, ex_color color); /* filled */
void ex_draw_circle(ex_canvas *c, double x, double y, double radius, ex_color color);
void ex_draw_marker(ex_canvas *c, ex_marker marker, double x, double y, double size, ex_color color);

/* Where (x, y) is in the text: which end of the line, and baseline, middle or top of a capital letter. */
typedef enum ex_align {
    EX_LEFT = 0,
    EX_CENTER = 1,
    EX_RIGHT = 2,
    EX_BASELINE = 0,
    EX_MIDDLE = 4,
    EX_TOP = 8
} ex_align;

typedef enum ex_weight { EX_REGULAR, EX_BOLD } ex_weight;

/* UTF-8. Known: ASCII and the signs for plus-minus, times, micro, minus, en dash, ellipsis, degree, superscript two,
   at most, at least; others show a small box. size is the font size: capitals are 0.72 of it. A line break starts a
   new line, 1.35 sizes lower. */
void ex_draw_text(ex_canvas *c, double x, double y, double size, ex_weight weight, int align, ex_color color,
                  const char *text);
/* Turned about (x, y) by degrees, counter-clockwise. */
void ex_draw_text_turned(ex_canvas *c, double x, double y, double size, ex_weight weight, int align, double degrees,
                         ex_color color, const char *text);
/* Width of the widest line in pixels. */
double ex_text_width(double size, ex_weight weight, const char *text);
/* Breaks text at blanks (in place) so that no line is wider than `width` if words allow; answers the lines. */
int32_t ex_text_wrap(double size, ex_weight weight, double width, char *text);

#endif
