/* plot.c - see plot.h

   A chart is laid out from the outside in: title and note, then legend, then the texts beside the axes, and what
   is left is the plot. Every margin comes from the width of a text that stands in it, so nothing is cut off. */

#include "plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 512, LABEL_BYTES = 160, LABELS_MAX = 32, LEGEND_MAX = 48 };

/* What the bars of a category take of its room. */
#define BARS_SHARE 0.86

/* Greater magnitudes count as gaps: differences of such numbers overflow. */
#define GREATEST 1e100

static bool usable(double v)
{
    return v > -GREATEST && v < GREATEST;
}

static double clamp(double v, double low, double high)
{
    return v > low ? (v < high ? v : high) : low;
}

static ex_rect rect(double x, double y, double width, double height)
{
    ex_rect r;

    r.x = x;
    r.y = y;
    r.width = width;
    r.height = height;
    return r;
}

/* ---- ticks and number texts -------------------------------------------------------------------------------- */

int32_t ex_ticks(double low, double high, int32_t wanted, bool whole, double out[EX_TICKS_MAX], double *step)
{
    double raw, power, unit, first, last;
    int32_t i, count;

    *step = 0;
    if (!usable(low) || !usable(high) || !(high > low)) return 0;
    if (wanted < 1) wanted = 1;
    if (wanted > EX_TICKS_MAX / 3) wanted = EX_TICKS_MAX / 3;
    raw = (high - low) / wanted;
    if (!(raw > fmax(fabs(low), fabs(high)) * 1e-12) || raw < 1e-290) return 0; /* closer than doubles can tell */
    power = pow(10, floor(log10(raw)));
    unit = raw / power;
    *step = power * (unit < 1.5 ? 1 : unit < 3.5 ? 2 : unit < 7.5 ? 5 : 10);
    if (whole && *step < 1) *step = 1;
    first = ceil(low / *step - 1e-9);
    last = floor(high / *step + 1e-9);
    count = last - first + 1 < EX_TICKS_MAX ? (int32_t)(last - first + 1) : EX_TICKS_MAX;
    for (i = 0; i < count; i++) out[i] = (first + i) * *step + 0.0; /* + 0.0: no minus zero */
    return count > 0 ? count : 0;
}

/* Commas between groups of three digits before the point: "-1234.5" becomes "-1,234.5". */
static void add_commas(char *text, size_t size)
{
    size_t sign = text[0] == '-', digits = strspn(text + sign, "0123456789"), length = strlen(text), at;

    if (strpbrk(text, "eE")) return;
    for (at = digits; at > 3 && length + 1 < size; length++) {
        at -= 3;
        memmove(text + sign + at + 1, text + sign + at, length - sign - at + 1);
        text[sign + at] = ',';
    }
}

const char *ex_tick_text(double value, double step, char out[32])
{
    int decimals = step > 0 ? (int)clamp(-floor(log10(step) + 1e-9), 0, 12) : 2;

    if (fabs(value) >= 1e7 || (step > 0 && step < 1e-5)) {
        snprintf(out, 32, "%.6g", value);
    } else {
        snprintf(out, 32, "%.*f", decimals, value);
        add_commas(out, 32);
    }
    return out;
}

/* A format of the caller is used if it prints exactly one double and nothing else. */
static bool format_is_safe(const char *format)
{
    const char *at = strchr(format, '%');

    while (at && at[1] == '%') at = strchr(at + 2, '%');
    if (!at) return false;
    at += 1 + strspn(at + 1, "+-# 0");
    at += strspn(at, "0123456789");
    if (*at == '.') at += 1 + strspn(at + 1, "0123456789");
    if (!*at || !strchr("eEfFgG", *at)) return false;
    for (at = strchr(at + 1, '%'); at; at = strchr(at + 2, '%')) {
        if (at[1] != '%') return false;
    }
    return true;
}

static void value_text(const char *format, double value, double greatest, char *out, size_t size)
{
    if (format && format_is_safe(format)) {
        snprintf(out, size, format, value);
        return;
    }
    if (greatest >= 1e7 || greatest < 1e-3) snprintf(out, size, "%.3g", value);
    else snprintf(out, size, "%.*f", greatest >= 100 ? 0 : greatest >= 10 ? 1 : greatest >= 1 ? 2 : 3, value);
    if (fabs(value) >= 9999.5) add_commas(out, size);
}

/* ---- frame: texts around a chart --------------------------------------------------------------------------- */

typedef struct frame {
    ex_canvas *c;
    double title, subtitle, label, tick, note; /* font sizes */
    double pad;
    double left, right, top, bottom; /* what is still free */
    ex_rect plot;
} frame;

/* Shortens text (in place, size bytes) with an ellipsis until it fits. */
static void shorten(char *text, size_t size, double font, ex_weight weight, double width)
{
    size_t length = strlen(text);

    if (ex_text_width(font, weight, text) <= width) return;
    while (length > 0) {
        length--;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
        while (length > 0 && text[length - 1] == ' ') length--;
        if (length + 4 > size) continue;
        memcpy(text + length, "\xE2\x80\xA6", 4);
        if (ex_text_width(font, weight, text) <= width) return;
    }
    text[0] = '\0';
}

static int32_t wrapped(char out[TEXT_BYTES], const char *text, double font, ex_weight weight, double width,
                       int32_t lines_max)
{
    int32_t lines;
    char *at = out;

    snprintf(out, TEXT_BYTES, "%s", text);
    lines = ex_text_wrap(font, weight, width, out);
    if (lines > lines_max) { /* the rest goes onto the last line, and is cut */
        int32_t i;
        for (i = 0; i < lines_max - 1; i++) at = strchr(at, '\n') + 1;
        for (; *at; at++) {
            if (*at == '\n') *at = ' ';
        }
        lines = lines_max;
    }
    for (at = out; at;) { /* words that are wider than a line */
        char *end = strchr(at, '\n'), rest[TEXT_BYTES];
        snprintf(rest, sizeof rest, "%s", end ? end : "");
        if (end) *end = '\0';
        shorten(at, TEXT_BYTES - (size_t)(at - out), font, weight, width);
        at += strlen(at);
        snprintf(at, TEXT_BYTES - (size_t)(at - out), "%s", rest);
        at = *at ? at + 1 : NULL;
    }
    return lines;
}

static void frame_open(frame *f, ex_canvas *c, ex_rect area, const char *title, const char *subtitle,
                       const char *note)
{
    bool large = area.width >= 900 && area.height >= 480;
    char text[TEXT_BYTES];
    double width;

    memset(f, 0, sizeof *f);
    f->c = c;
    f->title = large ? 28 : 20;
    f->subtitle = large ? 18 : 15.5;
    f->label = f->tick = large ? 16.5 : 14.5;
    f->note = large ? 14.5 : 13.5;
    f->pad = large ? 36 : 18;
    f->left = area.x + f->pad;
    f->right = area.x + area.width - f->pad;
    f->top = area.y + f->pad;
    f->bottom = area.y + area.height - 0.75 * f->pad;
    width = f->right - f->left;
    if (title && *title) {
        int32_t lines = wrapped(text, title, f->title, EX_BOLD, width, 2);
        ex_draw_text(c, f->left, f->top, f->title, EX_BOLD, EX_TOP, EX_INK, text);
        f->top += f->title * (0.8 + 1.35 * (lines - 1)) + 0.5 * f->title;
    }
    if (subtitle && *subtitle) {
        int32_t lines = wrapped(text, subtitle, f->subtitle, EX_REGULAR, width, 3);
        ex_draw_text(c, f->left, f->top, f->subtitle, EX_REGULAR, EX_TOP, EX_MUTED, text);
        f->top += f->subtitle * (0.8 + 1.35 * (lines - 1)) + 0.5 * f->subtitle;
    }
    if ((title && *title) || (subtitle && *subtitle)) f->top += 0.4 * f->pad;
    if (note && *note) {
        int32_t lines = wrapped(text, note, f->note, EX_REGULAR, width, 3);
        double tall = f->note * (1 + 1.35 * (lines - 1));
        ex_draw_text(c, f->left, f->bottom - tall, f->note, EX_REGULAR, EX_TOP, EX_MUTED, text);
        f->bottom -= tall + 0.5 * f->pad;
    }
}

typedef struct legend_entry {
    const char *name;
    ex_color color;
    double width; /* of the line; 0: a filled box */
    ex_dash dash;
    ex_marker marker;
    bool points;
} legend_entry;

/* Rows of samples and names above the plot, where no data can be. */
static void frame_legend(frame *f, const legend_entry *entries, int32_t count)
{
    double font = f->label, sample = 2.1 * font, gap = 1.7 * font, x = f->left, middle = f->top + 0.5 * font;
    double room = f->right - f->left;
    char name[LABEL_BYTES];
    int32_t i, placed = 0;

    for (i = 0; i < count; i++) {
        const legend_entry *e = &entries[i];
        double mark = e->width > 0 || e->points ? sample : 0.85 * font, width;
        ex_point line[2];
        if (!e->name || !*e->name) continue;
        snprintf(name, sizeof name, "%s", e->name);
        shorten(name, sizeof name, font, EX_REGULAR, room - mark - 0.5 * font);
        width = mark + 0.5 * font + ex_text_width(font, EX_REGULAR, name);
        if (placed > 0 && x + width > f->right) {
            x = f->left;
            middle += 1.6 * font;
        }
        line[0].x = x + 2;
        line[1].x = x + mark - 2;
        line[0].y = line[1].y = floor(middle) + 0.5;
        if (e->points) {
            ex_draw_marker(f->c, e->marker, x + mark / 2, line[0].y, 0.6 * font, e->color);
        } else if (e->width > 0) {
            ex_draw_polyline(f->c, line, 2, e->width, e->dash, e->color);
            if (e->marker != EX_NO_MARKER) {
                ex_draw_circle(f->c, x + mark / 2, line[0].y, 0.45 * font, EX_WHITE);
                ex_draw_marker(f->c, e->marker, x + mark / 2, line[0].y, 0.6 * font, e->color);
            }
        } else {
            ex_draw_round_rect(f->c, rect(x, floor(middle - mark / 2), mark, mark), 3, e->color);
        }
        ex_draw_text(f->c, x + mark + 0.5 * font, middle, font, EX_REGULAR, EX_MIDDLE, EX_TEXT, name);
        x += width + gap;
        placed++;
    }
    if (placed) f->top = middle + 0.5 * font + 0.55 * f->pad;
}

/* ---- scales ------------------------------------------------------------------------------------------------ */

typedef struct scale {
    double low, high;     /* as drawn; powers of ten if logarithmic */
    double from, to;      /* pixels of low and high */
    double ticks[EX_TICKS_MAX], step;
    int32_t tick_count;
    bool logarithmic;
} scale;

typedef struct range {
    double low, high;
    bool any;
} range;

static void range_add(range *r, const ex_axis *axis, double v)
{
    if (!usable(v) || (axis->logarithmic && v <= 0)) return;
    if (axis->logarithmic) v = log10(v);
    if (!r->any || v < r->low) r->low = v;
    if (!r->any || v > r->high) r->high = v;
    r->any = true;
}

static bool axis_is_fixed(const ex_axis *axis)
{
    if (!usable(axis->low) || !usable(axis->high) || !(axis->high > axis->low)) return false;
    return !axis->logarithmic || axis->low > 0;
}

/* low and high of the scale from the axis or, with `margin` of the range at each end, from the data. */
static void scale_range(scale *s, const ex_axis *axis, range r, double margin)
{
    double spread;

    s->logarithmic = axis->logarithmic;
    if (axis_is_fixed(axis)) {
        s->low = axis->logarithmic ? log10(axis->low) : axis->low;
        s->high = axis->logarithmic ? log10(axis->high) : axis->high;
        return;
    }
    if (!r.any) {
        r.low = 0;
        r.high = 1;
    }
    if (axis->from_zero && !axis->logarithmic) {
        r.low = fmin(r.low, 0);
        r.high = fmax(r.high, 0);
    }
    spread = r.high - r.low;
    if (!(spread > 1e-9 * fmax(fabs(r.low), fabs(r.high))) || spread < 1e-250) { /* one value: room around it */
        double half = fmax(fabs(r.low) * 0.1, fabs(r.low) > 1e-200 ? 0 : 0.5);
        r.low -= half;
        r.high += half;
        spread = 2 * half;
    }
    s->low = r.low - margin * spread;
    s->high = r.high + margin * spread;
    if (!axis->logarithmic && r.low >= 0 && s->low < 0) s->low = 0; /* do not suggest values below zero */
    if (!axis->logarithmic && r.high <= 0 && s->high > 0) s->high = 0;
}

/* 1, 2 and 5 times powers of ten on a logarithmic scale; how many there are. */
static int32_t fine_ticks(scale *s)
{
    static const double parts[3] = { 0, 0.30102999566398120, 0.69897000433601880 };
    int32_t count = 0, i;
    double power;

    for (power = floor(s->low); power <= s->high; power++) {
        for (i = 0; i < 3 && count < EX_TICKS_MAX; i++) {
            double at = power + parts[i];
            if (at >= s->low - 1e-9 && at <= s->high + 1e-9) s->ticks[count++] = at;
        }
    }
    return count;
}

static void scale_ticks(scale *s, double pixels, double apart, bool whole)
{
    int32_t wanted = (int32_t)clamp(pixels / apart, 2, 8);

    s->tick_count = ex_ticks(s->low, s->high, wanted, whole || s->logarithmic, s->ticks, &s->step);
    if (!s->logarithmic || s->high - s->low >= 2) return;
    s->tick_count = fine_ticks(s);
    if (s->tick_count < 2) s->tick_count = ex_ticks(s->low, s->high, wanted, false, s->ticks, &s->step);
}

static const char *scale_text(const scale *s, int32_t i, char out[32])
{
    double v;

    if (!s->logarithmic) return ex_tick_text(s->ticks[i], s->step, out);
    v = pow(10, s->ticks[i]);
    if (v >= 0.001 && v < 1e6) {
        snprintf(out, 32, "%.3g", v);
        if (v >= 1000) snprintf(out, 32, "%.0f", v);
        add_commas(out, 32);
    } else {
        snprintf(out, 32, "%.2g", v);
    }
    return out;
}

/* The pixel of a value; NaN for a gap. Far outside is held near, so that lines keep their direction. */
static double scale_place(const scale *s, double v)
{
    double t;

    if (!usable(v) || (s->logarithmic && v <= 0)) return (double)NAN;
    if (s->logarithmic) v = log10(v);
    t = (v - s->low) / (s->high - s->low);
    return s->from + clamp(t, -1e3, 1e3) * (s->to - s->from);
}

static double ticks_width(const frame *f, const scale *s)
{
    double widest = 0;
    char text[32];
    int32_t i;

    for (i = 0; i < s->tick_count; i++) {
        widest = fmax(widest, ex_text_width(f->tick, EX_REGULAR, scale_text(s, i, text)));
    }
    return widest;
}

/* ---- references -------------------------------------------------------------------------------------------- */

static double reference_room(const frame *f, const ex_reference *r, int32_t count)
{
    double widest = 0, most = 0.2 * (f->right - f->left);
    char text[TEXT_BYTES];
    int32_t i;

    for (i = 0; i < count && i < LABELS_MAX; i++) {
        if (!r[i].label || !*r[i].label || !usable(r[i].y)) continue;
        wrapped(text, r[i].label, f->label, EX_REGULAR, most, 3);
        widest = fmax(widest, ex_text_width(f->label, EX_REGULAR, text));
    }
    return widest > 0 ? widest + 0.6 * f->label : 0;
}

/* Lines across the plot, and their names beside it: sorted by height, then pushed apart until none overlap. */
static void draw_references(frame *f, const scale *y, const ex_reference *r, int32_t count)
{
    double place[LABELS_MAX], tall[LABELS_MAX], most = 0.2 * (f->right - f->left), floor_y;
    int32_t order[LABELS_MAX], i, j, n = 0;
    char text[TEXT_BYTES];

    for (i = 0; i < count && n < LABELS_MAX; i++) {
        double at = scale_place(y, r[i].y);
        ex_color color = r[i].color ? r[i].color : EX_TEXT;
        ex_point line[2];
        if (!(at >= f->plot.y - 1 && at <= f->plot.y + f->plot.height + 1)) continue;
        line[0].x = f->plot.x;
        line[1].x = f->plot.x + f->plot.width;
        line[0].y = line[1].y = floor(at) + 0.5;
        ex_draw_polyline(f->c, line, 2, 1.75, r[i].dash == EX_SOLID ? EX_DASHED : r[i].dash, color);
        if (!r[i].label || !*r[i].label) continue;
        tall[n] = f->label * (1.25 + 1.35 * (wrapped(text, r[i].label, f->label, EX_REGULAR, most, 3) - 1));
        place[n] = at;
        order[n] = i;
        for (j = n++; j > 0 && place[j - 1] > place[j]; j--) {
            double swap = place[j];
            int32_t index = order[j];
            place[j] = place[j - 1];
            place[j - 1] = swap;
            swap = tall[j];
            tall[j] = tall[j - 1];
            tall[j - 1] = swap;
            order[j] = order[j - 1];
            order[j - 1] = index;
        }
    }
    for (i = 1; i < n; i++) place[i] = fmax(place[i], place[i - 1] + (tall[i - 1] + tall[i]) / 2);
    for (floor_y = f->plot.y + f->plot.height + 0.6 * f->label, i = n - 1; i >= 0; i--) {
        place[i] = fmin(place[i], floor_y - tall[i] / 2);
        floor_y = place[i] - tall[i] / 2;
    }
    for (i = 0; i < n; i++) {
        const ex_reference *label = &r[order[i]];
        wrapped(text, label->label, f->label, EX_REGULAR, most, 3);
        ex_draw_text(f->c, f->plot.x + f->plot.width + 0.6 * f->label, place[i], f->label, EX_REGULAR, EX_MIDDLE,
                     label->color ? label->color : EX_TEXT, text);
    }
}

/* ---- axes -------------------------------------------------------------------------------------------------- */

/* The name of the y axis stands level above it: nobody has to turn the head. */
static void frame_y_label(frame *f, const char *label)
{
    char text[LABEL_BYTES];

    if (!label || !*label) return;
    snprintf(text, sizeof text, "%s", label);
    shorten(text, sizeof text, f->label, EX_REGULAR, f->right - f->left);
    ex_draw_text(f->c, f->left, f->top, f->label, EX_REGULAR, EX_TOP, EX_MUTED, text);
    f->top += 1.55 * f->label;
}

static void frame_x_label(frame *f, const char *label)
{
    char text[LABEL_BYTES];

    if (!label || !*label) return;
    snprintf(text, sizeof text, "%s", label);
    shorten(text, sizeof text, f->label, EX_REGULAR, f->plot.width);
    ex_draw_text(f->c, f->plot.x + f->plot.width / 2, f->bottom, f->label, EX_REGULAR, EX_CENTER, EX_MUTED, text);
}

/* Fixes the plot between the free borders; below it `under` pixels are kept for texts, right of it `beside`. */
static void frame_plot(frame *f, scale *y, const ex_axis *axis, double under, double beside)
{
    double least = 24, top = ceil(f->top + 0.4 * f->tick), bottom = floor(f->bottom - under), wide;

    if (bottom < top + least) bottom = top + least;
    y->from = bottom;
    y->to = top;
    scale_ticks(y, bottom - top, 4.0 * f->tick, axis->whole);
    wide = ticks_width(f, y);
    f->plot = rect(ceil(f->left + wide + 0.7 * f->tick), top, 0, bottom - top);
    f->plot.width = fmax(floor(f->right - beside) - f->plot.x, least);
}

static void draw_y_axis(frame *f, const scale *y)
{
    double right = f->plot.x + f->plot.width;
    char text[32];
    int32_t i;

    for (i = 0; i < y->tick_count; i++) {
        double at = floor(y->from + (y->ticks[i] - y->low) / (y->high - y->low) * (y->to - y->from)) + 0.5;
        bool zero = !y->logarithmic && fabs(y->ticks[i]) < y->step / 2;
        ex_draw_line(f->c, f->plot.x, at, right, at, 1, zero ? EX_AXIS : EX_GRID);
        ex_draw_text(f->c, f->plot.x - 0.7 * f->tick, at, f->tick, EX_REGULAR, EX_RIGHT | EX_MIDDLE, EX_MUTED,
                     scale_text(y, i, text));
    }
}

static void draw_nothing(frame *f)
{
    ex_draw_text(f->c, f->plot.x + f->plot.width / 2, f->plot.y + f->plot.height / 2, f->label, EX_REGULAR,
                 EX_CENTER | EX_MIDDLE, EX_MUTED, "no data");
}

/* ---- line chart -------------------------------------------------------------------------------------------- */

static double series_x(const ex_series *s, int32_t i)
{
    return s->x ? s->x[i] : (double)i;
}

static ex_color series_color(const ex_line_chart *chart, int32_t i)
{
    return chart->series[i].color ? chart->series[i].color : ex_palette(i);
}

static int compare_int(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Turns a series into points. Where many fall into one column of pixels only the first, lowest, highest and last
   stay: the picture is the same. Needs room for count points (thinning never makes more). */
static int32_t thin(const scale *xs, const scale *ys, const ex_series *s, const double *values, ex_point *out)
{
    int32_t i, n = 0, keep[4], j;
    bool sorted = true;

    for (i = 1; i < s->count && sorted; i++) sorted = !(series_x(s, i) < series_x(s, i - 1));
    for (i = 0; i < s->count;) {
        int32_t from = i;
        double column = floor(scale_place(xs, series_x(s, i)));
        keep[0] = keep[1] = keep[2] = i;
        for (i++; sorted && i < s->count; i++) {
            double here = scale_place(xs, series_x(s, i));
            if (!(here >= column && here < column + 1) || !usable(values[i]) || !usable(values[from])) break;
            if (values[i] < values[keep[1]]) keep[1] = i;
            if (values[i] > values[keep[2]]) keep[2] = i;
        }
        keep[3] = i - 1;
        qsort(keep, 4, sizeof *keep, compare_int);
        for (j = 0; j < 4; j++) {
            if (j > 0 && keep[j] == keep[j - 1]) continue;
            out[n].x = scale_place(xs, series_x(s, keep[j]));
            out[n].y = scale_place(ys, values[keep[j]]);
            n++;
        }
    }
    return n;
}

static bool point_is_there(ex_point p)
{
    return isfinite(p.x) && isfinite(p.y);
}

/* The band is one polygon per unbroken stretch: along the low edge, back along the high one. */
static void draw_band(frame *f, const scale *xs, const scale *ys, const ex_series *s, ex_color color)
{
    ex_point *p = malloc(2 * (size_t)s->count * sizeof *p);
    int32_t i = 0, k, n;

    while (p && i < s->count) {
        for (n = 0; i < s->count; i++, n++) {
            p[n].x = scale_place(xs, series_x(s, i));
            p[n].y = scale_place(ys, s->low[i]);
            if (!isfinite(p[n].x + p[n].y + scale_place(ys, s->high[i]))) break;
        }
        for (k = 0; k < n; k++) {
            p[n + k].x = p[n - 1 - k].x;
            p[n + k].y = scale_place(ys, s->high[i - 1 - k]);
        }
        if (n > 1) ex_draw_polygon(f->c, p, 2 * n, color);
        i++;
    }
    free(p);
}

static void draw_series(frame *f, const scale *xs, const scale *ys, const ex_series *s, ex_color color, int32_t index)
{
    ex_point *p = malloc((size_t)s->count * sizeof *p);
    double apart = fmax(f->plot.width / 9, 60), next, size = 0.62 * f->label;
    int32_t i, n;

    if (!p) return;
    n = thin(xs, ys, s, s->y, p);
    if (!s->points) {
        ex_draw_polyline(f->c, p, n, s->width > 0 ? s->width : 2.25, s->dash, color);
    }
    next = f->plot.x + apart * (0.3 + 0.23 * (index % 4));
    for (i = 0; i < n; i++) {
        ex_marker marker = s->points && s->marker == EX_NO_MARKER ? EX_CIRCLE : s->marker;
        if (marker == EX_NO_MARKER || !point_is_there(p[i])) continue;
        if (!s->points && n > 12 && p[i].x < next) continue;
        while (next <= p[i].x && next < f->plot.x + f->plot.width) next += apart;
        if (!s->points) ex_draw_circle(f->c, p[i].x, p[i].y, 0.5 * size + 2, EX_WHITE);
        ex_draw_marker(f->c, marker, p[i].x, p[i].y, size, color);
    }
    free(p);
}

void ex_line_chart_draw(const ex_line_chart *chart, ex_canvas *c, ex_rect area)
{
    legend_entry legend[LEGEND_MAX];
    scale xs = { 0 }, ys = { 0 };
    range rx = { 0, 0, false }, ry = { 0, 0, false };
    double under, beside, last;
    char text[32];
    int32_t i, k, named = 0;
    ex_rect clip = c->clip;
    frame f;

    memset(legend, 0, sizeof legend);
    for (k = 0; k < chart->series_count; k++) {
        const ex_series *s = &chart->series[k];
        for (i = 0; s->y && i < s->count; i++) {
            if (!usable(series_x(s, i)) || (chart->x.logarithmic && series_x(s, i) <= 0)) continue;
            range_add(&rx, &chart->x, series_x(s, i));
            range_add(&ry, &chart->y, s->y[i]);
            if (s->low && s->high) {
                range_add(&ry, &chart->y, s->low[i]);
                range_add(&ry, &chart->y, s->high[i]);
            }
        }
        if (s->name && named < LEGEND_MAX) {
            legend[named].name = s->name;
            legend[named].color = series_color(chart, k);
            legend[named].width = s->width > 0 ? s->width : 2.25;
            legend[named].dash = s->dash;
            legend[named].points = s->points;
            legend[named++].marker = s->points && !s->marker ? EX_CIRCLE : s->marker;
        }
    }
    for (i = 0; i < chart->reference_count; i++) range_add(&ry, &chart->y, chart->references[i].y);
    frame_open(&f, c, area, chart->title, chart->subtitle, chart->note);
    if (named > 1 || (named == 1 && chart->reference_count > 0)) frame_legend(&f, legend, named);
    frame_y_label(&f, chart->y.label);
    scale_range(&ys, &chart->y, ry, 0.05);
    scale_range(&xs, &chart->x, rx, chart->x.logarithmic ? 0.03 : 0.0);
    under = 1.7 * f.tick + (chart->x.label && *chart->x.label ? 1.75 * f.label : 0);
    beside = reference_room(&f, chart->references, chart->reference_count);
    frame_plot(&f, &ys, &chart->y, under, fmax(beside, 0.5 * f.tick));
    xs.from = f.plot.x;
    xs.to = f.plot.x + f.plot.width;
    scale_ticks(&xs, f.plot.width, 6.5 * f.tick, chart->x.whole);
    if (xs.tick_count && beside <= 0) { /* room for the right half of the last number */
        double at = xs.from + (xs.ticks[xs.tick_count - 1] - xs.low) / (xs.high - xs.low) * (xs.to - xs.from);
        double over = at + ex_text_width(f.tick, EX_REGULAR, scale_text(&xs, xs.tick_count - 1, text)) / 2 - f.right;
        if (over > 0) {
            f.plot.width = fmax(f.plot.width - ceil(over), 24);
            xs.to = f.plot.x + f.plot.width;
        }
    }
    draw_y_axis(&f, &ys);
    ex_draw_line(c, f.plot.x, f.plot.y + f.plot.height + 0.5, xs.to, f.plot.y + f.plot.height + 0.5, 1.25, EX_AXIS);
    for (last = -1e9, i = 0; i < xs.tick_count; i++) {
        double at = xs.from + (xs.ticks[i] - xs.low) / (xs.high - xs.low) * (xs.to - xs.from), half, y;
        half = ex_text_width(f.tick, EX_REGULAR, scale_text(&xs, i, text)) / 2;
        y = f.plot.y + f.plot.height;
        ex_draw_line(c, floor(at) + 0.5, y + 1.5, floor(at) + 0.5, y + 5.5, 1.25, EX_AXIS);
        if (at - half < last + 6) continue;
        ex_draw_text(c, at, y + 0.7 * f.tick, f.tick, EX_REGULAR, EX_CENTER | EX_TOP, EX_MUTED, text);
        last = at + half;
    }
    frame_x_label(&f, chart->x.label);
    c->clip = rect(fmax(clip.x, f.plot.x - 4), fmax(clip.y, f.plot.y - 5), 0, 0);
    c->clip.width = fmin(clip.x + clip.width, xs.to + 5) - c->clip.x;
    c->clip.height = fmin(clip.y + clip.height, f.plot.y + f.plot.height + 4) - c->clip.y;
    for (k = 0; k < chart->series_count; k++) {
        const ex_series *s = &chart->series[k];
        if (s->low && s->high && s->count > 1) draw_band(&f, &xs, &ys, s, ex_alpha(series_color(chart, k), 0.18));
    }
    for (k = 0; k < chart->series_count; k++) {
        if (chart->series[k].y && chart->series[k].count > 0) {
            draw_series(&f, &xs, &ys, &chart->series[k], series_color(chart, k), k);
        }
    }
    c->clip = clip;
    draw_references(&f, &ys, chart->references, chart->reference_count);
    if (!rx.any || !ry.any) draw_nothing(&f);
}

/* ---- categories along the x axis --------------------------------------------------------------------------- */

/* How the names of `count` equally wide slots are written: in up to three lines, or turned when words do not fit. */
typedef struct names_plan {
    bool turned;
    double height, most; /* most: width of a turned name */
} names_plan;

static names_plan plan_names(const frame *f, const char *const *names, int32_t count, double slot)
{
    names_plan plan = { false, 0, 0 };
    char text[TEXT_BYTES];
    int32_t i, lines_most = 1;
    double widest = 0;

    for (i = 0; names && i < count; i++) {
        int32_t lines;
        if (!names[i]) continue;
        snprintf(text, sizeof text, "%s", names[i]);
        widest = fmax(widest, ex_text_width(f->tick, EX_REGULAR, text));
        lines = ex_text_wrap(f->tick, EX_REGULAR, slot - 0.6 * f->tick, text);
        if (lines > lines_most) lines_most = lines;
        if (lines > 3 || ex_text_width(f->tick, EX_REGULAR, text) > slot - 0.3 * f->tick) plan.turned = true;
    }
    plan.most = fmin(widest, 12 * f->tick);
    plan.height = plan.turned ? plan.most * 0.6 + 1.2 * f->tick : f->tick * (0.9 + 1.35 * (lines_most - 1));
    return plan;
}

static void draw_names(const frame *f, const names_plan *plan, const char *const *names, int32_t count, double slot)
{
    double y = f->plot.y + f->plot.height + 0.7 * f->tick;
    int32_t i, every = 1;
    char text[TEXT_BYTES];

    if (plan->turned && slot < 1.5 * f->tick) every = (int32_t)ceil(1.5 * f->tick / slot);
    for (i = 0; names && i < count; i += every) {
        double x = f->plot.x + (i + 0.5) * slot;
        if (!names[i]) continue;
        if (plan->turned) {
            snprintf(text, sizeof text, "%s", names[i]);
            shorten(text, sizeof text, f->tick, EX_REGULAR, fmin(plan->most, (x - f->left) / 0.82));
            ex_draw_text_turned(f->c, x + 0.35 * f->tick, y + 0.4 * f->tick, f->tick, EX_REGULAR, EX_RIGHT | EX_MIDDLE,
                                35, EX_TEXT, text);
        } else {
            wrapped(text, names[i], f->tick, EX_REGULAR, slot - 0.3 * f->tick, 3);
            ex_draw_text(f->c, x, y, f->tick, EX_REGULAR, EX_CENTER | EX_TOP, EX_TEXT, text);
        }
    }
}

/* ---- bar chart --------------------------------------------------------------------------------------------- */

static double bar_value(const ex_bar_chart *chart, int32_t category, int32_t group)
{
    int32_t groups = chart->group_count > 0 ? chart->group_count : 1;
    return chart->values[category * groups + group];
}

static double bar_error(const ex_bar_chart *chart, int32_t category, int32_t group)
{
    int32_t groups = chart->group_count > 0 ? chart->group_count : 1;
    double e = chart->errors ? chart->errors[category * groups + group] : 0;
    return usable(e) && e > 0 ? e : 0;
}

void ex_bar_chart_draw(const ex_bar_chart *chart, ex_canvas *c, ex_rect area)
{
    int32_t groups = chart->group_count > 0 ? chart->group_count : 1, i, g, categories = chart->category_count;
    legend_entry legend[LEGEND_MAX];
    double greatest = 0, slot, bar, widest = 0, label, beside, above = 0, below = 0, base, font;
    bool labels = !chart->value_format || *chart->value_format, turned, fixed = axis_is_fixed(&chart->y);
    range r = { 0, 0, false };
    char text[LABEL_BYTES];
    scale ys = { 0 };
    names_plan plan;
    frame f;

    memset(legend, 0, sizeof legend);
    for (g = 0; chart->groups && g < groups && g < LEGEND_MAX; g++) {
        legend[g].name = chart->groups[g];
        legend[g].color = chart->colors ? chart->colors[g] : ex_palette(g);
    }
    frame_open(&f, c, area, chart->title, chart->subtitle, chart->note);
    if (chart->groups) frame_legend(&f, legend, groups < LEGEND_MAX ? groups : LEGEND_MAX);
    frame_y_label(&f, chart->y.label);
    for (i = 0; i < categories; i++) {
        for (g = 0; g < groups; g++) {
            double v = bar_value(chart, i, g), e = bar_error(chart, i, g);
            if (!usable(v)) continue;
            greatest = fmax(greatest, fabs(v));
            range_add(&r, &chart->y, v);
            range_add(&r, &chart->y, v > 0 ? v + e : v - e);
        }
    }
    for (i = 0; i < chart->reference_count; i++) range_add(&r, &chart->y, chart->references[i].y);
    for (i = 0; labels && i < categories * groups; i++) {
        double v = chart->values[i];
        if (!usable(v)) continue;
        value_text(chart->value_format, v, chart->y.logarithmic ? fabs(v) : greatest, text, sizeof text);
        widest = fmax(widest, ex_text_width(f.note, EX_REGULAR, text));
    }
    if (!chart->y.logarithmic) range_add(&r, &chart->y, 0);
    else if (r.any) r.low = floor(r.low - 1e-9);
    scale_range(&ys, &chart->y, r, 0);
    /* The plot's width is needed to lay out names and labels, its height to place ticks: a first guess, then again. */
    beside = reference_room(&f, chart->references, chart->reference_count);
    frame_plot(&f, &ys, &chart->y, 3 * f.tick, fmax(beside, 4));
    slot = f.plot.width / (categories > 0 ? categories : 1);
    plan = plan_names(&f, chart->categories, categories, slot);
    bar = fmin(BARS_SHARE * slot / groups, 72);
    font = f.note;
    turned = widest > bar + (groups > 1 ? 0 : 0.3 * bar);
    if (turned && 0.88 * widest <= bar) { /* slightly smaller fits level */
        turned = false;
        font *= 0.88;
    }
    if (turned && bar < 0.95 * font) labels = false; /* no room even when turned */
    label = labels ? (turned ? widest : 0.8 * font) + 0.8 * font : 0.4 * font;
    if (!fixed) {
        double tall = fmax(f.bottom - plan.height - 0.9 * f.tick - f.top - 0.4 * f.tick, 24), unit;
        if (ys.high > 0 || ys.logarithmic) above = label;
        if (ys.low < 0 && !ys.logarithmic) below = label;
        unit = (ys.high - ys.low) / fmax(tall - above - below, 12);
        ys.high += above * unit;
        ys.low -= below * unit;
    }
    frame_plot(&f, &ys, &chart->y, plan.height + 0.9 * f.tick, fmax(beside, 4));
    slot = f.plot.width / (categories > 0 ? categories : 1);
    bar = fmin(BARS_SHARE * slot / groups, 72);
    draw_y_axis(&f, &ys);
    base = ys.logarithmic ? ys.from : clamp(scale_place(&ys, 0), ys.to, ys.from);
    ex_draw_line(c, f.plot.x, floor(base) + 0.5, f.plot.x + f.plot.width, floor(base) + 0.5, 1.25, EX_AXIS);
    for (i = 0; i < categories; i++) {
        for (g = 0; g < groups; g++) {
            double v = bar_value(chart, i, g), e = bar_error(chart, i, g), at = scale_place(&ys, v), end, up, gap;
            double x = f.plot.x + (i + 0.5) * slot + (g - 0.5 * groups) * bar;
            ex_color color = chart->colors ? chart->colors[g] : ex_palette(g);
            if (groups == 1 && chart->category_colors) color = chart->category_colors[i];
            if (!isfinite(at)) {
                if (bar > 1.8 * f.note) {
                    ex_draw_text(c, x + bar / 2, base - 0.5 * f.note, f.note, EX_REGULAR, EX_CENTER, EX_MUTED, "n/a");
                }
                continue;
            }
            up = v >= 0 || ys.logarithmic ? -1 : 1;
            at = clamp(at, ys.to, ys.from);
            gap = groups > 1 ? clamp(0.06 * bar, 0.5, 2) : 0;
            ex_draw_rect(c, rect(x + gap, fmin(at, base), bar - 2 * gap, fabs(at - base)), color);
            end = at;
            if (e > 0) {
                double near = scale_place(&ys, v - e), far = scale_place(&ys, v + e), cap = clamp(0.14 * bar, 2, 7);
                double middle = floor(x + bar / 2) + 0.5;
                near = isfinite(near) ? clamp(near, ys.to, ys.from) : ys.from;
                far = clamp(far, ys.to, ys.from);
                ex_draw_line(c, middle, near, middle, far, 1.5, EX_INK);
                ex_draw_line(c, middle - cap, near, middle + cap, near, 1.5, EX_INK);
                ex_draw_line(c, middle - cap, far, middle + cap, far, 1.5, EX_INK);
                end = up < 0 ? far : near;
            }
            if (!labels) continue;
            value_text(chart->value_format, v, ys.logarithmic ? fabs(v) : greatest, text, sizeof text);
            if (turned) {
                ex_draw_text_turned(c, x + bar / 2, end + up * 0.45 * font, font, EX_REGULAR,
                                    (up < 0 ? EX_LEFT : EX_RIGHT) | EX_MIDDLE, 90, EX_TEXT, text);
            } else { /* on white, so that no grid line runs through it */
                double wide = ex_text_width(font, EX_REGULAR, text), tall = 1.1 * font;
                double top = up < 0 ? end - 0.35 * font - tall : end + 0.35 * font;
                ex_draw_rect(c, rect(x + (bar - wide) / 2, top, wide, tall), ex_alpha(EX_WHITE, 0.85));
                ex_draw_text(c, x + bar / 2, end + up * 0.5 * font, font, EX_REGULAR,
                             EX_CENTER | (up < 0 ? EX_BASELINE : EX_TOP), EX_TEXT, text);
            }
        }
    }
    draw_names(&f, &plan, chart->categories, categories, slot);
    draw_references(&f, &ys, chart->references, chart->reference_count);
    if (!r.any || categories < 1) draw_nothing(&f);
}

/* ---- box chart --------------------------------------------------------------------------------------------- */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sorted_quantile(const double *v, int32_t n, double q)
{
    double at = q * (n - 1);
    int32_t i = (int32_t)at;
    return i + 1 < n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[i];
}

static void draw_box(frame *f, const scale *ys, double x, double wide, double *v, int32_t n, ex_color color)
{
    double q1 = sorted_quantile(v, n, 0.25), q3 = sorted_quantile(v, n, 0.75), reach = 1.5 * (q3 - q1), mean = 0;
    double top = scale_place(ys, q3), bottom = scale_place(ys, q1), half = wide / 2, middle = floor(x) + 0.5, at;
    int32_t i, low = 0, high = n - 1;

    while (low < n && v[low] < q1 - reach) low++;
    while (high > low && v[high] > q3 + reach) high--;
    for (i = 0; i < n; i++) mean += v[i] / n;
    ex_draw_line(f->c, middle, scale_place(ys, v[low]), middle, bottom, 1.5, EX_TEXT);
    ex_draw_line(f->c, middle, scale_place(ys, v[high]), middle, top, 1.5, EX_TEXT);
    ex_draw_line(f->c, x - half / 3, scale_place(ys, v[low]), x + half / 3, scale_place(ys, v[low]), 1.5, EX_TEXT);
    ex_draw_line(f->c, x - half / 3, scale_place(ys, v[high]), x + half / 3, scale_place(ys, v[high]), 1.5, EX_TEXT);
    ex_draw_round_rect(f->c, rect(x - half, top, wide, fmax(bottom - top, 1)), 3, ex_mix(EX_WHITE, color, 0.45));
    at = scale_place(ys, sorted_quantile(v, n, 0.5));
    ex_draw_line(f->c, x - half, at, x + half, at, 3, color);
    for (i = 0; i < n; i++) {
        if (i >= low && i <= high) continue;
        ex_draw_circle(f->c, middle, scale_place(ys, v[i]), 2.5, ex_alpha(color, 0.6));
    }
    ex_draw_circle(f->c, middle, scale_place(ys, mean), 4.5, EX_WHITE);
    ex_draw_circle(f->c, middle, scale_place(ys, mean), 3, EX_INK);
}

void ex_box_chart_draw(const ex_box_chart *chart, ex_canvas *c, ex_rect area)
{
    range r = { 0, 0, false };
    int32_t i, k, n, categories = chart->category_count;
    double slot, beside;
    scale ys = { 0 };
    names_plan plan;
    frame f;

    for (k = 0; k < categories; k++) {
        for (i = 0; i < chart->counts[k]; i++) range_add(&r, &chart->y, chart->values[k][i]);
    }
    for (i = 0; i < chart->reference_count; i++) range_add(&r, &chart->y, chart->references[i].y);
    frame_open(&f, c, area, chart->title, chart->subtitle, chart->note);
    frame_y_label(&f, chart->y.label);
    scale_range(&ys, &chart->y, r, 0.05);
    beside = fmax(reference_room(&f, chart->references, chart->reference_count), 4);
    frame_plot(&f, &ys, &chart->y, 3 * f.tick, beside);
    slot = f.plot.width / (categories > 0 ? categories : 1);
    plan = plan_names(&f, chart->categories, categories, slot);
    frame_plot(&f, &ys, &chart->y, plan.height + 0.9 * f.tick, beside);
    slot = f.plot.width / (categories > 0 ? categories : 1);
    draw_y_axis(&f, &ys);
    for (k = 0; k < categories; k++) {
        double *v = malloc(sizeof *v * (size_t)(chart->counts[k] > 0 ? chart->counts[k] : 1));
        for (n = 0, i = 0; v && i < chart->counts[k]; i++) {
            double value = chart->values[k][i];
            if (usable(value) && (!chart->y.logarithmic || value > 0)) v[n++] = value;
        }
        if (n > 0) {
            qsort(v, (size_t)n, sizeof *v, compare_double);
            draw_box(&f, &ys, f.plot.x + (k + 0.5) * slot, fmin(0.5 * slot, 90), v, n,
                     chart->colors ? chart->colors[k] : ex_palette(k));
        }
        free(v);
    }
    draw_names(&f, &plan, chart->categories, categories, slot);
    draw_references(&f, &ys, chart->references, chart->reference_count);
    if (!r.any) draw_nothing(&f);
}

/* ---- heat map ---------------------------------------------------------------------------------------------- */

static const char *heat_name(const char *const *names, int32_t i, char out[32])
{
    if (names) return names[i] ? names[i] : "";
    snprintf(out, 32, "%d", (int)i + 1);
    return out;
}

static void draw_ramp(frame *f, const scale *s, double x, double wide)
{
    char text[32];
    int32_t i;

    for (i = 0; i < (int32_t)f->plot.height; i++) {
        double at = 1 - (i + 0.5) / f->plot.height;
        ex_draw_rect(f->c, rect(x, f->plot.y + i, wide, 1), ex_ramp(at));
    }
    for (i = 0; i < s->tick_count; i++) {
        double y = f->plot.y + f->plot.height * (1 - (s->ticks[i] - s->low) / (s->high - s->low));
        ex_draw_text(f->c, x + wide + 0.5 * f->tick, y, f->tick, EX_REGULAR, EX_MIDDLE, EX_MUTED,
                     scale_text(s, i, text));
    }
}

void ex_heat_map_draw(const ex_heat_map *chart, ex_canvas *c, ex_rect area)
{
    int32_t row, column, rows = chart->row_count, columns = chart->column_count, every_x = 1, every_y = 1;
    double widest = 0, names = 0, greatest = 0, cell_w, cell_h, bar = 0, bottom, most;
    ex_axis axis = { NULL, 0, 0, false, false, false };
    bool labels = !chart->value_format || *chart->value_format;
    range r = { 0, 0, false };
    scale s = { 0 };
    char text[LABEL_BYTES], number[32];
    frame f;

    frame_open(&f, c, area, chart->title, chart->subtitle, chart->note);
    frame_y_label(&f, chart->y_label);
    most = 0.3 * (f.right - f.left);
    for (row = 0; row < rows; row++) {
        snprintf(text, sizeof text, "%s", heat_name(chart->rows, row, number));
        shorten(text, sizeof text, f.tick, EX_REGULAR, most);
        names = fmax(names, ex_text_width(f.tick, EX_REGULAR, text));
        for (column = 0; column < columns; column++) {
            double v = chart->values[row * columns + column];
            range_add(&r, &axis, v);
            if (usable(v)) greatest = fmax(greatest, fabs(v));
        }
    }
    axis.low = chart->low;
    axis.high = chart->high;
    scale_range(&s, &axis, r, 0);
    scale_ticks(&s, f.bottom - f.top, 4 * f.tick, false);
    if (r.any) bar = 1.2 * f.tick + 0.5 * f.tick + ticks_width(&f, &s) + 1.2 * f.tick;
    bottom = f.bottom - 1.7 * f.tick - (chart->x_label && *chart->x_label ? 1.75 * f.label : 0);
    if (chart->value_label && *chart->value_label) {
        snprintf(text, sizeof text, "%s", chart->value_label);
        shorten(text, sizeof text, f.label, EX_REGULAR, 0.6 * (f.right - f.left));
        if (!chart->y_label || !*chart->y_label) f.top += 1.55 * f.label;
        ex_draw_text(c, f.right, f.top - 1.55 * f.label, f.label, EX_REGULAR, EX_RIGHT | EX_TOP, EX_MUTED, text);
    }
    f.plot = rect(ceil(f.left + names + 0.7 * f.tick), ceil(f.top), 0, fmax(floor(bottom) - ceil(f.top), 24));
    f.plot.width = fmax(floor(f.right - bar) - f.plot.x, 24);
    if (!r.any || rows < 1 || columns < 1) {
        draw_nothing(&f);
        return;
    }
    cell_w = f.plot.width / columns;
    cell_h = f.plot.height / rows;
    for (row = 0; row < rows * columns; row++) {
        value_text(chart->value_format, chart->values[row], greatest, text, sizeof text);
        if (usable(chart->values[row])) widest = fmax(widest, ex_text_width(f.note, EX_REGULAR, text));
    }
    if (widest + 0.5 * f.note > cell_w || 1.2 * f.note > cell_h) labels = false;
    for (row = 0; row < rows; row++) {
        for (column = 0; column < columns; column++) {
            double v = chart->values[row * columns + column], at = (v - s.low) / (s.high - s.low);
            double x = floor(f.plot.x + column * cell_w), y = floor(f.plot.y + row * cell_h);
            double x2 = floor(f.plot.x + (column + 1) * cell_w), y2 = floor(f.plot.y + (row + 1) * cell_h);
            double gap = cell_w > 12 && cell_h > 12 ? 1 : 0;
            bool there = usable(v);
            ex_draw_rect(c, rect(x, y, x2 - x - gap, y2 - y - gap), there ? ex_ramp(at) : EX_GRID);
            if (!labels) continue;
            if (there) value_text(chart->value_format, v, greatest, text, sizeof text);
            ex_draw_text(c, (x + x2 - gap) / 2, (y + y2 - gap) / 2, f.note, EX_REGULAR, EX_CENTER | EX_MIDDLE,
                         !there ? EX_MUTED : at < 0.52 ? EX_WHITE : EX_INK, there ? text : "n/a");
        }
    }
    for (widest = 0, column = 0; column < columns; column++) {
        widest = fmax(widest, ex_text_width(f.tick, EX_REGULAR, heat_name(chart->columns, column, number)));
    }
    widest = fmin(widest, 8 * f.tick);
    if (widest + 6 > cell_w) every_x = (int32_t)ceil((widest + 6) / cell_w);
    if (1.3 * f.tick > cell_h) every_y = (int32_t)ceil(1.3 * f.tick / cell_h);
    for (column = 0; column < columns; column += every_x) {
        snprintf(text, sizeof text, "%s", heat_name(chart->columns, column, number));
        shorten(text, sizeof text, f.tick, EX_REGULAR, fmax(widest, cell_w));
        ex_draw_text(c, f.plot.x + (column + 0.5) * cell_w, f.plot.y + f.plot.height + 0.6 * f.tick, f.tick,
                     EX_REGULAR, EX_CENTER | EX_TOP, EX_TEXT, text);
    }
    for (row = 0; row < rows; row += every_y) {
        snprintf(text, sizeof text, "%s", heat_name(chart->rows, row, number));
        shorten(text, sizeof text, f.tick, EX_REGULAR, most);
        ex_draw_text(c, f.plot.x - 0.7 * f.tick, f.plot.y + (row + 0.5) * cell_h, f.tick, EX_REGULAR,
                     EX_RIGHT | EX_MIDDLE, EX_TEXT, text);
    }
    frame_x_label(&f, chart->x_label);
    draw_ramp(&f, &s, f.plot.x + f.plot.width + 1.2 * f.tick, 1.2 * f.tick);
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */

static bool panel_write(const ex_panel *panel, int32_t width, int32_t height, const char *path)
{
    ex_figure figure;

    memset(&figure, 0, sizeof figure);
    figure.panels = panel;
    figure.panel_count = 1;
    return ex_figure_write(&figure, width, height, path);
}

bool ex_line_chart_write(const ex_line_chart *chart, int32_t width, int32_t height, const char *path)
{
    ex_panel panel = { .line = chart };
    return panel_write(&panel, width, height, path);
}

bool ex_bar_chart_write(const ex_bar_chart *chart, int32_t width, int32_t height, const char *path)
{
    ex_panel panel = { .bar = chart };
    return panel_write(&panel, width, height, path);
}

bool ex_heat_map_write(const ex_heat_map *chart, int32_t width, int32_t height, const char *path)
{
    ex_panel panel = { .heat = chart };
    return panel_write(&panel, width, height, path);
}

bool ex_box_chart_write(const ex_box_chart *chart, int32_t width, int32_t height, const char *path)
{
    ex_panel panel = { .box = chart };
    return panel_write(&panel, width, height, path);
}

bool ex_figure_write(const ex_figure *figure, int32_t width, int32_t height, const char *path)
{
    int32_t columns = figure->columns, rows, i;
    ex_rect inside;
    ex_canvas c;
    bool ok;

    if (!ex_canvas_create(&c, width > 0 ? width : EX_PLOT_WIDTH, height > 0 ? height : EX_PLOT_HEIGHT)) return false;
    inside = rect(0, 0, c.width, c.height);
    if (figure->title || figure->subtitle || figure->note) {
        frame f;
        frame_open(&f, &c, inside, figure->title, figure->subtitle, figure->note);
        inside = rect(f.pad / 2, f.top - 0.4 * f.pad, c.width - f.pad, 0);
        inside.height = (figure->note ? f.bottom + 0.25 * f.pad : c.height - 0.25 * f.pad) - inside.y;
    }
    if (columns < 1) columns = (int32_t)ceil(sqrt((double)(figure->panel_count > 0 ? figure->panel_count : 1)));
    rows = (figure->panel_count + columns - 1) / columns;
    for (i = 0; i < figure->panel_count; i++) {
        const ex_panel *p = &figure->panels[i];
        double w = floor(inside.width / columns), h = floor(inside.height / rows);
        ex_rect area = rect(floor(inside.x + (i % columns) * w), floor(inside.y + i / columns * h), w, h);
        c.clip = area;
        if (p->line) ex_line_chart_draw(p->line, &c, area);
        else if (p->bar) ex_bar_chart_draw(p->bar, &c, area);
        else if (p->heat) ex_heat_map_draw(p->heat, &c, area);
        else if (p->box) ex_box_chart_draw(p->box, &c, area);
        else if (p->draw) p->draw(p->user, &c, area);
    }
    ok = ex_canvas_write_png(&c, path);
    ex_canvas_free(&c);
    return ok;
}
