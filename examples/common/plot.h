/* plot.h - charts on a canvas. All structs: zero means default; names and data stay the caller's.

       static double returns[800], average[800];
       ex_series series[] = {
           { .name = "return of an episode", .y = returns, .count = 800, .color = ex_alpha(ex_palette(0), 0.35) },
           { .name = "mean of the last 50", .y = average, .count = 800, .color = ex_palette(0), .width = 3 },
       };
       ex_reference best = { .label = "least load", .y = -446 };
       ex_line_chart chart = { .title = "Learning to balance", .x = { .label = "episode" }, .y = { .label = "return" },
                               .series = series, .series_count = 2, .references = &best, .reference_count = 1 };
       if (!ex_line_chart_write(&chart, 0, 0, "out/reward_history.png")) return EX_FAILED;

   Values that are not finite leave a gap. An empty chart says so. Margins are computed from the texts. */

#ifndef EX_PLOT_H
#define EX_PLOT_H

#include "canvas.h"

#define EX_PLOT_WIDTH 1200
#define EX_PLOT_HEIGHT 720
#define EX_TICKS_MAX 24

typedef struct ex_axis {
    const char *label; /* with its unit: "load (share of capacity)" */
    double low, high;  /* both 0: from the data */
    bool from_zero;    /* an automatic range includes 0 */
    bool logarithmic;  /* powers of ten; values <= 0 are gaps */
    bool whole;        /* ticks at whole numbers only */
} ex_axis;

typedef struct ex_series {
    const char *name; /* NULL: not in the legend */
    const double *x;  /* NULL: 0, 1, 2, ... */
    const double *y;
    const double *low, *high; /* shaded band, both or none */
    int32_t count;
    ex_color color; /* 0: by place in the palette */
    double width;   /* 0: 2.25 */
    ex_dash dash;
    ex_marker marker; /* drawn every so often, so that lines can be told apart */
    bool points;      /* markers at every point, no line */
} ex_series;

/* A horizontal line, named in the right margin. */
typedef struct ex_reference {
    const char *label;
    double y;
    ex_color color; /* 0: dark grey */
    ex_dash dash;   /* EX_SOLID, the zero, means dashed here */
} ex_reference;

typedef struct ex_line_chart {
    const char *title, *subtitle, *note; /* note: small, below */
    ex_axis x, y;
    const ex_series *series;
    int32_t series_count;
    const ex_reference *references;
    int32_t reference_count;
} ex_line_chart;

/* values[category * group_count + group]: groups are the bars that stand together, one colour each. */
typedef struct ex_bar_chart {
    const char *title, *subtitle, *note;
    ex_axis y; /* bars start at 0, so 0 is always in range (at the lowest power of ten if logarithmic) */
    const char *const *categories;
    int32_t category_count;
    const char *const *groups; /* NULL with one group */
    int32_t group_count;       /* 0: 1 */
    const double *values, *errors; /* errors: half widths, NULL: none */
    const ex_color *colors;        /* of groups; NULL: palette */
    const ex_color *category_colors; /* with one group: of bars */
    const char *value_format;      /* one double, such as "%.1f"; NULL: chosen; "": no labels */
    const ex_reference *references;
    int32_t reference_count;
} ex_bar_chart;

/* values[row * column_count + column] */
typedef struct ex_heat_map {
    const char *title, *subtitle, *note;
    const char *x_label, *y_label, *value_label;
    const char *const *columns; /* NULL: numbered */
    const char *const *rows;
    int32_t column_count, row_count;
    const double *values;
    double low, high;         /* both 0: from the data */
    const char *value_format; /* in the cells; NULL: chosen, if there is room; "": none */
} ex_heat_map;

/* Quartiles, median, mean (a dot), whiskers at the outermost values within 1.5 box heights, the rest as points. */
typedef struct ex_box_chart {
    const char *title, *subtitle, *note;
    ex_axis y;
    const char *const *categories;
    const double *const *values; /* one array per category */
    const int32_t *counts;
    int32_t category_count;
    const ex_color *colors; /* NULL: palette */
    const ex_reference *references;
    int32_t reference_count;
} ex_box_chart;

void ex_line_chart_draw(const ex_line_chart *chart, ex_canvas *c, ex_rect area);
void ex_bar_chart_draw(const ex_bar_chart *chart, ex_canvas *c, ex_rect area);
void ex_heat_map_draw(const ex_heat_map *chart, ex_canvas *c, ex_rect area);
void ex_box_chart_draw(const ex_box_chart *chart, ex_canvas *c, ex_rect area);

/* A picture with one chart; width or height 0: 1200 x 720. False: said on stderr. */
bool ex_line_chart_write(const ex_line_chart *chart, int32_t width, int32_t height, const char *path);
bool ex_bar_chart_write(const ex_bar_chart *chart, int32_t width, int32_t height, const char *path);
bool ex_heat_map_write(const ex_heat_map *chart, int32_t width, int32_t height, const char *path);
bool ex_box_chart_write(const ex_box_chart *chart, int32_t width, int32_t height, const char *path);

/* Several charts in a grid, row by row; exactly one member of a panel is set. */
typedef struct ex_panel {
    const ex_line_chart *line;
    const ex_bar_chart *bar;
    const ex_heat_map *heat;
    const ex_box_chart *box;
    void (*draw)(void *user, ex_canvas *c, ex_rect area);
    void *user;
} ex_panel;

typedef struct ex_figure {
    const char *title, *subtitle, *note;
    const ex_panel *panels;
    int32_t panel_count, columns; /* columns 0: as square as can be */
} ex_figure;

bool ex_figure_write(const ex_figure *figure, int32_t width, int32_t height, const char *path);

/* Nice numbers that cover [low, high] inside: 1, 2 or 5 times a power of ten apart, about `wanted` of them. Answers
   how many; *step is their distance. 0 if the range is not finite or empty. */
int32_t ex_ticks(double low, double high, int32_t wanted, bool whole, double out[EX_TICKS_MAX], double *step);
/* The value with as many decimals as ticks of that step need: "0.25", "-400", "1,200", "3e+06". */
const char *ex_tick_text(double value, double step, char out[32]);

#endif
