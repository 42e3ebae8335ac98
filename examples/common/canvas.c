/* canvas.c - see canvas.h

   Every shape first lays its coverage (0..1 per pixel) into `cover`, then one pass blends the colour in and clears
   what was touched. Polygons add the exact area they cover; strokes take the largest coverage of their segments, so
   a line is one even shape however it bends. */

#include "canvas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "font.h"
#include "options.h"

#define STBI_WRITE_NO_STDIO
#include "stb_image_write.h"

#define PI 3.14159265358979323846

enum { SIDE_MOST = 8192 };

/* Whole pixels [x0, x1) x [y0, y1). */
typedef struct box {
    int32_t x0, y0, x1, y1;
} box;

/* ---- colours ----------------------------------------------------------------------------------------------- */

ex_color ex_palette(int32_t i)
{
    static const ex_color colors[8] = { EX_RGB(0x0072B2u), EX_RGB(0xD55E00u), EX_RGB(0x009E73u), EX_RGB(0xCC79A7u),
                                        EX_RGB(0xE69F00u), EX_RGB(0x56B4E9u), EX_RGB(0x5D4A8Au), EX_RGB(0x7F7F7Fu) };
    return colors[(i % 8 + 8) % 8];
}

ex_color ex_alpha(ex_color color, double opacity)
{
    double a = opacity > 0 ? (opacity < 1 ? opacity : 1) : 0;
    return (color & 0xFFFFFFu) | (uint32_t)(a * 255 + 0.5) << 24;
}

ex_color ex_mix(ex_color from, ex_color to, double at)
{
    double t = at > 0 ? (at < 1 ? at : 1) : 0;
    ex_color mixed = 0;
    int shift;

    for (shift = 0; shift < 32; shift += 8) {
        double a = from >> shift & 255, b = to >> shift & 255;
        mixed |= (ex_color)(a + (b - a) * t + 0.5) << shift;
    }
    return mixed;
}

ex_color ex_ramp(double at)
{
    static const ex_color stops[6] = { EX_RGB(0x2B1B52u), EX_RGB(0x31478Au), EX_RGB(0x2A7B8Eu),
                                       EX_RGB(0x35A884u), EX_RGB(0x97CE5Bu), EX_RGB(0xF6E73Fu) };
    double place = (at > 0 ? (at < 1 ? at : 1) : 0) * 5;
    int i = place < 5 ? (int)place : 4;
    return ex_mix(stops[i], stops[i + 1], place - i);
}

/* ---- the picture ------------------------------------------------------------------------------------------- */

bool ex_canvas_create(ex_canvas *c, int32_t width, int32_t height)
{
    memset(c, 0, sizeof *c);
    if (width < 1 || height < 1 || width > SIDE_MOST || height > SIDE_MOST) {
        ex_fail("a picture of %d x %d pixels: each side must be 1 to %d", (int)width, (int)height, SIDE_MOST);
        return false;
    }
    c->width = width;
    c->height = height;
    c->rgb = malloc((size_t)width * (size_t)height * 3);
    c->cover = calloc((size_t)(width + 2) * (size_t)height, sizeof(float));
    if (!c->rgb || !c->cover) {
        ex_fail("out of memory for a picture of %d x %d pixels", (int)width, (int)height);
        ex_canvas_free(c);
        return false;
    }
    ex_canvas_clip_all(c);
    ex_canvas_clear(c, EX_WHITE);
    return true;
}

void ex_canvas_free(ex_canvas *c)
{
    free(c->rgb);
    free(c->cover);
    memset(c, 0, sizeof *c);
}

void ex_canvas_clip_all(ex_canvas *c)
{
    c->clip.x = 0;
    c->clip.y = 0;
    c->clip.width = c->width;
    c->clip.height = c->height;
}

void ex_canvas_clear(ex_canvas *c, ex_color color)
{
    size_t i, n = (size_t)c->width * (size_t)c->height;

    for (i = 0; i < n; i++) {
        c->rgb[3 * i] = (unsigned char)(color >> 16 & 255);
        c->rgb[3 * i + 1] = (unsigned char)(color >> 8 & 255);
        c->rgb[3 * i + 2] = (unsigned char)(color & 255);
    }
}

static void collect(void *user, void *bytes, int size)
{
    ex_text_add(user, bytes, (size_t)size);
}

bool ex_canvas_write_png(const ex_canvas *c, const char *path)
{
    ex_text png = { NULL, 0, 0, false };
    bool ok;

    if (!stbi_write_png_to_func(collect, &png, c->width, c->height, 3, c->rgb, 3 * c->width)) png.failed = true;
    ok = ex_text_write(&png, path);
    ex_text_free(&png);
    return ok;
}

/* ---- a fast PNG writer -------------------------------------------------------------------------------------

   Deflate (RFC 1951) in one block of the fixed code. Of what came before a place, three candidates are tried: the pixel
   to the left, the pixel above, and the last place with the same four bytes. Frames of charts are mostly even areas,
   which that finds. */

enum { HASH_BITS = 14, MATCH_MOST = 258, REACH = 32768 };

typedef struct deflate {
    unsigned char *out;
    size_t size;
    uint64_t bits;
    int bit_count;
    int32_t last[1 << HASH_BITS]; /* place + 1 */
} deflate;

static void put_bits(deflate *d, uint32_t bits, int count)
{
    d->bits |= (uint64_t)bits << d->bit_count;
    for (d->bit_count += count; d->bit_count >= 8; d->bit_count -= 8) {
        d->out[d->size++] = (unsigned char)(d->bits & 255);
        d->bits >>= 8;
    }
}

/* Huffman codes go in from their highest bit on. */
static void put_code(deflate *d, uint32_t code, int count)
{
    uint32_t turned = 0;
    int i;

    for (i = 0; i < count; i++) turned |= (code >> i & 1) << (count - 1 - i);
    put_bits(d, turned, count);
}

static void put_symbol(deflate *d, uint32_t symbol)
{
    if (symbol < 144) put_code(d, 0x30 + symbol, 8);
    else if (symbol < 256) put_code(d, 0x190 + symbol - 144, 9);
    else if (symbol < 280) put_code(d, symbol - 256, 7);
    else put_code(d, 0xC0 + symbol - 280, 8);
}

static int log2_of(uint32_t v)
{
    int n = 0;

    while (v >>= 1) n++;
    return n;
}

/* Lengths and distances have codes for ranges that double in width every four (two) codes, and the rest as it is. */
static void put_match(deflate *d, uint32_t length, uint32_t distance)
{
    uint32_t l = length - 3, v = distance - 1;
    int extra = l < 8 ? 0 : log2_of(l) - 2;

    if (length == MATCH_MOST) {
        put_symbol(d, 285);
    } else {
        put_symbol(d, l < 8 ? 257 + l : 257 + 4 * (uint32_t)extra + (l >> extra));
        put_bits(d, l & ((1u << extra) - 1), extra);
    }
    extra = v < 4 ? 0 : log2_of(v) - 1;
    put_code(d, v < 4 ? v : 2 * (uint32_t)extra + (v >> extra), 5);
    put_bits(d, v & ((1u << extra) - 1), extra);
}

static size_t same_bytes(const unsigned char *a, const unsigned char *b, size_t most)
{
    size_t n = 0;

    while (n + 8 <= most && memcmp(a + n, b + n, 8) == 0) n += 8;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

static void deflate_all(deflate *d, const unsigned char *raw, size_t size, size_t row)
{
    size_t i = 0;

    put_bits(d, 1, 1); /* the last block */
    put_bits(d, 1, 2); /* of the fixed code */
    while (i < size) {
        size_t most = size - i < MATCH_MOST ? size - i : MATCH_MOST, from[3], best = 0, distance = 0, k;
        from[0] = 3;
        from[1] = row;
        from[2] = 0;
        if (most >= 4) {
            uint32_t four;
            int32_t *slot;
            memcpy(&four, raw + i, 4);
            slot = &d->last[four * 2654435761u >> (32 - HASH_BITS)];
            if (*slot) from[2] = i + 1 - (size_t)*slot;
            *slot = (int32_t)i + 1;
        }
        for (k = 0; k < 3 && best < most; k++) {
            size_t length;
            if (from[k] == 0 || from[k] > i || from[k] > REACH) continue;
            length = same_bytes(raw + i, raw + i - from[k], most);
            if (length <= best) continue;
            best = length;
            distance = from[k];
        }
        if (best >= 4 || (best == 3 && distance < 64)) {
            put_match(d, (uint32_t)best, (uint32_t)distance);
            i += best;
        } else {
            put_symbol(d, raw[i++]);
        }
    }
    put_symbol(d, 256);
    put_bits(d, 0, 7); /* what is left of the last byte */
}

static uint32_t adler32(const unsigned char *p, size_t size)
{
    uint32_t a = 1, b = 0;
    size_t i, end;

    for (i = 0; i < size;) {
        end = size - i < 5552 ? size : i + 5552; /* as many as fit in 32 bits */
        for (; i < end; i++) {
            a += p[i];
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}

static void big_endian(unsigned char *to, uint32_t v)
{
    to[0] = (unsigned char)(v >> 24);
    to[1] = (unsigned char)(v >> 16 & 255);
    to[2] = (unsigned char)(v >> 8 & 255);
    to[3] = (unsigned char)(v & 255);
}

static void add_chunk(ex_text *png, const char *type, const unsigned char *data, size_t size)
{
    uint32_t table[256], crc = 0xFFFFFFFFu, i;
    unsigned char number[4];
    size_t at, begin;
    int bit;

    for (i = 0; i < 256; i++) {
        table[i] = i;
        for (bit = 0; bit < 8; bit++) table[i] = table[i] & 1 ? 0xEDB88320u ^ table[i] >> 1 : table[i] >> 1;
    }
    big_endian(number, (uint32_t)size);
    ex_text_add(png, number, 4);
    begin = png->size;
    ex_text_add(png, type, 4);
    ex_text_add(png, data, size);
    for (at = begin; at < png->size && !png->failed; at++) {
        crc = table[(crc ^ (unsigned char)png->data[at]) & 255] ^ crc >> 8;
    }
    big_endian(number, ~crc);
    ex_text_add(png, number, 4);
}

bool ex_canvas_write_png_fast(const ex_canvas *c, const char *path)
{
    size_t row = 3 * (size_t)c->width + 1, size = row * (size_t)c->height;
    unsigned char *raw = malloc(size), header[13];
    deflate *d = calloc(1, sizeof *d);
    ex_text png = { NULL, 0, 0, false };
    int32_t y;
    bool ok;

    if (d) d->out = malloc(size + size / 8 + 64); /* nine bits to a byte at worst */
    if (raw && d && d->out) {
        for (y = 0; y < c->height; y++) {
            raw[(size_t)y * row] = 0; /* filter: none */
            memcpy(raw + (size_t)y * row + 1, c->rgb + (size_t)y * (row - 1), row - 1);
        }
        d->out[d->size++] = 0x78;
        d->out[d->size++] = 0x01;
        deflate_all(d, raw, size, row);
        big_endian(d->out + d->size, adler32(raw, size));
        d->size += 4;
        big_endian(header, (uint32_t)c->width);
        big_endian(header + 4, (uint32_t)c->height);
        memcpy(header + 8, "\x08\x02\x00\x00\x00", 5); /* eight bits, RGB */
        ex_text_add(&png, "\x89PNG\r\n\x1A\n", 8);
        add_chunk(&png, "IHDR", header, sizeof header);
        add_chunk(&png, "IDAT", d->out, d->size);
        add_chunk(&png, "IEND", header, 0);
    } else {
        png.failed = true;
    }
    ok = ex_text_write(&png, path);
    ex_text_free(&png);
    if (d) free(d->out);
    free(d);
    free(raw);
    return ok;
}

/* ---- coverage ---------------------------------------------------------------------------------------------- */

static double clamp(double v, double low, double high)
{
    return v > low ? (v < high ? v : high) : low; /* NaN: low */
}

static float *cover_row(const ex_canvas *c, int32_t y)
{
    return c->cover + (size_t)y * (size_t)(c->width + 2);
}

/* The whole pixels that a shape within these bounds can touch, inside clip and picture. */
static box box_of(const ex_canvas *c, double x0, double y0, double x1, double y1)
{
    double left = clamp(c->clip.x + 0.5, 0, c->width), top = clamp(c->clip.y + 0.5, 0, c->height);
    double right = clamp(c->clip.x + c->clip.width + 0.5, 0, c->width);
    double bottom = clamp(c->clip.y + c->clip.height + 0.5, 0, c->height);
    box b;

    b.x0 = (int32_t)floor(clamp(floor(x0), floor(left), right));
    b.y0 = (int32_t)floor(clamp(floor(y0), floor(top), bottom));
    b.x1 = (int32_t)floor(clamp(ceil(x1), left, right));
    b.y1 = (int32_t)floor(clamp(ceil(y1), top, bottom));
    return b;
}

static void blend(ex_canvas *c, box b, ex_color color)
{
    float alpha = (float)(color >> 24) / 255.0f;
    float red = (float)(color >> 16 & 255), green = (float)(color >> 8 & 255), blue = (float)(color & 255);
    int32_t x, y;

    for (y = b.y0; y < b.y1; y++) {
        float *cover = cover_row(c, y);
        unsigned char *pixel = c->rgb + 3 * ((size_t)y * (size_t)c->width + (size_t)b.x0);
        for (x = b.x0; x < b.x1; x++, pixel += 3) {
            float a = cover[x] * alpha;
            cover[x] = 0;
            if (a <= 0) continue;
            pixel[0] = (unsigned char)((float)pixel[0] + (red - (float)pixel[0]) * a + 0.5f);
            pixel[1] = (unsigned char)((float)pixel[1] + (green - (float)pixel[1]) * a + 0.5f);
            pixel[2] = (unsigned char)((float)pixel[2] + (blue - (float)pixel[2]) * a + 0.5f);
        }
    }
}

/* One edge of a polygon: within each row, every column it crosses gets the area right of the edge, and the column
   after that the rest, so that a running sum along the row is the coverage. x is relative to the box. */
static void cover_edge(ex_canvas *c, box b, ex_point from, ex_point to)
{
    double sign = 1, slope, width = b.x1 - b.x0;
    int32_t y, y_end;

    if (from.y > to.y) {
        ex_point swap = from;
        from = to;
        to = swap;
        sign = -1;
    }
    if (!(to.y > from.y) || to.y <= b.y0 || from.y >= b.y1) return;
    slope = (to.x - from.x) / (to.y - from.y);
    y = (int32_t)clamp(floor(from.y), b.y0, b.y1);
    y_end = (int32_t)clamp(ceil(to.y), b.y0, b.y1);
    for (; y < y_end; y++) {
        double top = from.y > y ? from.y : y, bottom = to.y < y + 1 ? to.y : y + 1;
        double xa = clamp(from.x + (top - from.y) * slope - b.x0, 0, width);
        double xb = clamp(from.x + (bottom - from.y) * slope - b.x0, 0, width);
        double x0 = xa < xb ? xa : xb, x1 = xa < xb ? xb : xa, tall = (bottom - top) * sign;
        float *row = cover_row(c, y) + b.x0;
        int32_t i = (int32_t)x0;
        if (x1 - x0 < 1e-9) {
            row[i] += (float)(tall * (1 - (x0 - i)));
            row[i + 1] += (float)(tall * (x0 - i));
            continue;
        }
        for (; i < x1; i++) {
            double left = x0 > i ? x0 : i, right = x1 < i + 1 ? x1 : i + 1;
            double part = tall * (right - left) / (x1 - x0), middle = 0.5 * (left + right) - i;
            row[i] += (float)(part * (1 - middle));
            row[i + 1] += (float)(part * middle);
        }
    }
}

static bool finite_point(ex_point p)
{
    return isfinite(p.x) && isfinite(p.y);
}

void ex_draw_polygon(ex_canvas *c, const ex_point *points, int32_t count, ex_color color)
{
    double x0 = 1e300, y0 = 1e300, x1 = -1e300, y1 = -1e300;
    int32_t i, x, y;
    box b;

    for (i = 0; i < count; i++) {
        if (!finite_point(points[i])) return;
        x0 = fmin(x0, points[i].x);
        x1 = fmax(x1, points[i].x);
        y0 = fmin(y0, points[i].y);
        y1 = fmax(y1, points[i].y);
    }
    if (count < 3) return;
    b = box_of(c, x0, y0, x1, y1);
    if (b.x0 >= b.x1 || b.y0 >= b.y1) return;
    for (i = 0; i < count; i++) cover_edge(c, b, points[i], points[i + 1 < count ? i + 1 : 0]);
    for (y = b.y0; y < b.y1; y++) {
        float *row = cover_row(c, y), sum = 0;
        for (x = b.x0; x < b.x1; x++) {
            float a;
            sum += row[x];
            a = fabsf(sum);
            row[x] = a < 1e-4f ? 0 : a > 1 ? 1 : a;
        }
        row[b.x1] = row[b.x1 + 1] = 0;
    }
    blend(c, b, color);
}

/* Cuts the segment to the rectangle (Liang and Barsky); false if nothing is left. */
static bool cut_to(double x0, double y0, double x1, double y1, ex_point *a, ex_point *b)
{
    double from = 0, to = 1, dx = b->x - a->x, dy = b->y - a->y;
    double p[4], q[4];
    int i;

    p[0] = -dx;
    p[1] = dx;
    p[2] = -dy;
    p[3] = dy;
    q[0] = a->x - x0;
    q[1] = x1 - a->x;
    q[2] = a->y - y0;
    q[3] = y1 - a->y;
    for (i = 0; i < 4; i++) {
        double t;
        if (!(p[i] < 0) && !(p[i] > 0)) {
            if (q[i] < 0) return false;
            continue;
        }
        t = q[i] / p[i];
        if (p[i] < 0 && t > from) from = t;
        if (p[i] > 0 && t < to) to = t;
    }
    if (from > to || !isfinite(dx) || !isfinite(dy)) return false;
    b->x = a->x + to * dx;
    b->y = a->y + to * dy;
    a->x += from * dx;
    a->y += from * dy;
    return true;
}

/* A growing bounding box of what a stroke touched. */
static void box_add(box *all, box b)
{
    if (b.x0 >= b.x1 || b.y0 >= b.y1) return;
    if (all->x0 >= all->x1) {
        *all = b;
        return;
    }
    if (b.x0 < all->x0) all->x0 = b.x0;
    if (b.y0 < all->y0) all->y0 = b.y0;
    if (b.x1 > all->x1) all->x1 = b.x1;
    if (b.y1 > all->y1) all->y1 = b.y1;
}

/* Coverage of a segment with round ends: by the distance of each pixel's centre. Only pixels near it are visited. */
static void cover_segment(ex_canvas *c, box *all, ex_point p, ex_point q, double width)
{
    double half = width / 2, reach = half + 1, strength = width < 1 ? width : 1, dx, dy, length2;
    double pad = reach + 2;
    int32_t x, y;
    box b;

    if (!cut_to(c->clip.x - pad, c->clip.y - pad, c->clip.x + c->clip.width + pad, c->clip.y + c->clip.height + pad, &p,
                &q)) {
        return;
    }
    if (half < 0.5) half = 0.5;
    b = box_of(c, fmin(p.x, q.x) - reach, fmin(p.y, q.y) - reach, fmax(p.x, q.x) + reach, fmax(p.y, q.y) + reach);
    if (b.x0 >= b.x1 || b.y0 >= b.y1) return;
    box_add(all, b);
    dx = q.x - p.x;
    dy = q.y - p.y;
    length2 = dx * dx + dy * dy;
    for (y = b.y0; y < b.y1; y++) {
        double py = y + 0.5 - p.y, lo = fmin(p.x, q.x), hi = fmax(p.x, q.x);
        float *row = cover_row(c, y);
        int32_t x_end;
        if (fabs(dy) > 1e-6 && fabs(dx) > reach) { /* the part of the segment that is near this row */
            double ta = clamp((py - reach) / dy, 0, 1), tb = clamp((py + reach) / dy, 0, 1);
            double xa = p.x + ta * dx, xb = p.x + tb * dx;
            lo = fmin(xa, xb);
            hi = fmax(xa, xb);
        }
        x = (int32_t)clamp(floor(lo - reach), b.x0, b.x1);
        x_end = (int32_t)clamp(ceil(hi + reach), b.x0, b.x1);
        for (; x < x_end; x++) {
            double px = x + 0.5 - p.x;
            double t = length2 > 0 ? clamp((px * dx + py * dy) / length2, 0, 1) : 0;
            double ex = px - t * dx, ey = py - t * dy, d = half + 0.5 - sqrt(ex * ex + ey * ey);
            float a;
            if (d <= 0) continue;
            a = (float)((d < 1 ? d : 1) * strength);
            if (a > row[x]) row[x] = a;
        }
    }
}

/* ---- shapes ------------------------------------------------------------------------------------------------ */

/* How much of the pixel `at` lies between from and to. */
static double pixel_share(int32_t at, double from, double to)
{
    return fmax(0, fmin(at + 1, to) - fmax(at, from));
}

void ex_draw_picture(ex_canvas *c, ex_rect r, const ex_canvas *picture)
{
    box b = box_of(c, r.x, r.y, r.x + r.width, r.y + r.height);
    double across = picture->width / r.width, down = picture->height / r.height;
    int32_t x, y, sx, sy, k;

    if (!(r.width > 0) || !(r.height > 0)) return;
    for (y = b.y0; y < b.y1; y++) {
        double top = clamp((y - r.y) * down, 0, picture->height),
               bottom = clamp((y + 1 - r.y) * down, 0, picture->height);
        for (x = b.x0; x < b.x1; x++) {
            double left = clamp((x - r.x) * across, 0, picture->width);
            double right = clamp((x + 1 - r.x) * across, 0, picture->width);
            double sum[3] = { 0, 0, 0 }, all = 0;
            unsigned char *to = c->rgb + 3 * ((size_t)y * (size_t)c->width + (size_t)x);
            for (sy = (int32_t)top; sy < bottom; sy++) {
                double tall = pixel_share(sy, top, bottom);
                const unsigned char *from = picture->rgb + 3 * ((size_t)sy * (size_t)picture->width + (size_t)left);
                for (sx = (int32_t)left; sx < right; sx++, from += 3) {
                    double part = tall * pixel_share(sx, left, right);
                    for (k = 0; k < 3; k++) sum[k] += part * from[k];
                    all += part;
                }
            }
            for (k = 0; k < 3 && all > 0; k++) to[k] = (unsigned char)(sum[k] / all + 0.5);
        }
    }
}

void ex_draw_rect(ex_canvas *c, ex_rect r, ex_color color)
{
    ex_point p[4];

    p[0].x = p[3].x = r.x;
    p[1].x = p[2].x = r.x + r.width;
    p[0].y = p[1].y = r.y;
    p[2].y = p[3].y = r.y + r.height;
    ex_draw_polygon(c, p, 4, color);
}

void ex_draw_round_rect(ex_canvas *c, ex_rect r, double radius, ex_color color)
{
    enum { STEPS = 8 };
    ex_point p[4 * (STEPS + 1)];
    double round = clamp(radius, 0, 0.5 * fmin(fabs(r.width), fabs(r.height)));
    int corner, i, n = 0;

    for (corner = 0; corner < 4; corner++) {
        double cx = corner == 0 || corner == 3 ? r.x + r.width - round : r.x + round;
        double cy = corner < 2 ? r.y + round : r.y + r.height - round;
        for (i = 0; i <= STEPS; i++, n++) {
            double angle = (corner + (double)i / STEPS) * PI / 2;
            p[n].x = cx + round * cos(angle);
            p[n].y = cy - round * sin(angle);
        }
    }
    ex_draw_polygon(c, p, n, color);
}

void ex_draw_frame(ex_canvas *c, ex_rect r, double width, ex_color color)
{
    ex_rect side = r;

    side.height = width;
    ex_draw_rect(c, side, color);
    side.y = r.y + r.height - width;
    ex_draw_rect(c, side, color);
    side.y = r.y + width;
    side.height = r.height - 2 * width;
    side.width = width;
    ex_draw_rect(c, side, color);
    side.x = r.x + r.width - width;
    ex_draw_rect(c, side, color);
}

void ex_draw_line(ex_canvas *c, double x1, double y1, double x2, double y2, double width, ex_color color)
{
    ex_point p[2];

    p[0].x = x1;
    p[0].y = y1;
    p[1].x = x2;
    p[1].y = y2;
    ex_draw_polyline(c, p, 2, width, EX_SOLID, color);
}

/* Lengths of ink and gap in line widths. Round ends add one width to each ink and take it from the gap. */
static const double dashes[EX_DASH_NUM][4] = {
    { 0, 0, 0, 0 }, { 3, 3, 3, 3 }, { 0.01, 2.4, 0.01, 2.4 }, { 4, 2.6, 0.01, 2.6 }, { 7, 3, 7, 3 },
};

void ex_draw_polyline(ex_canvas *c, const ex_point *points, int32_t count, double width, ex_dash dash,
                      ex_color color)
{
    box all = { 0, 0, 0, 0 };
    double unit = width > 1.25 ? width : 1.25, left;
    int32_t i, place = 0;

    if (!(width > 0) || !isfinite(width)) return;
    if (dash <= EX_SOLID || dash >= EX_DASH_NUM) dash = EX_SOLID;
    left = dashes[dash][0] * unit;
    if (count == 1 && finite_point(points[0])) cover_segment(c, &all, points[0], points[0], width);
    for (i = 0; i + 1 < count; i++) {
        ex_point p = points[i], q = points[i + 1];
        double length, at = 0;
        bool alone = (i == 0 || !finite_point(points[i - 1])) && finite_point(p) && !finite_point(q);
        if (alone || (i + 2 == count && finite_point(q) && !finite_point(p))) { /* a point between two gaps */
            cover_segment(c, &all, alone ? p : q, alone ? p : q, width);
        }
        if (!finite_point(p) || !finite_point(q)) continue;
        if (dash == EX_SOLID) {
            cover_segment(c, &all, p, q, width);
            continue;
        }
        if (!cut_to(-64, -64, c->width + 64.0, c->height + 64.0, &p, &q)) continue;
        length = hypot(q.x - p.x, q.y - p.y);
        while (at < length) {
            double step = left < length - at ? left : length - at, t0 = at / length, t1 = (at + step) / length;
            if (place % 2 == 0) {
                ex_point a, b;
                a.x = p.x + (q.x - p.x) * t0;
                a.y = p.y + (q.y - p.y) * t0;
                b.x = p.x + (q.x - p.x) * t1;
                b.y = p.y + (q.y - p.y) * t1;
                cover_segment(c, &all, a, b, width);
            }
            at += step;
            left -= step;
            if (left <= 1e-9) {
                place = (place + 1) % 4;
                left = dashes[dash][place] * unit;
            }
        }
    }
    blend(c, all, color);
}

void ex_draw_circle(ex_canvas *c, double x, double y, double radius, ex_color color)
{
    ex_point p;
    box all = { 0, 0, 0, 0 };

    p.x = x;
    p.y = y;
    if (!finite_point(p) || !(radius > 0) || !isfinite(radius)) return;
    cover_segment(c, &all, p, p, 2 * radius);
    blend(c, all, color);
}

void ex_draw_marker(ex_canvas *c, ex_marker marker, double x, double y, double size, ex_color color)
{
    double r = size / 2;
    ex_point p[4];
    ex_rect square;
    int i;

    switch (marker) {
    case EX_CIRCLE: ex_draw_circle(c, x, y, r, color); break;
    case EX_SQUARE:
        square.x = x - 0.88 * r;
        square.y = y - 0.88 * r;
        square.width = square.height = 1.76 * r;
        ex_draw_rect(c, square, color);
        break;
    case EX_TRIANGLE:
        for (i = 0; i < 3; i++) {
            p[i].x = x + 1.2 * r * sin(i * 2 * PI / 3);
            p[i].y = y + 0.15 * r - 1.2 * r * cos(i * 2 * PI / 3);
        }
        ex_draw_polygon(c, p, 3, color);
        break;
    case EX_DIAMOND:
        for (i = 0; i < 4; i++) {
            p[i].x = x + 1.2 * r * sin(i * PI / 2);
            p[i].y = y - 1.2 * r * cos(i * PI / 2);
        }
        ex_draw_polygon(c, p, 4, color);
        break;
    case EX_CROSS:
        ex_draw_line(c, x - 0.8 * r, y - 0.8 * r, x + 0.8 * r, y + 0.8 * r, size / 4, color);
        ex_draw_line(c, x - 0.8 * r, y + 0.8 * r, x + 0.8 * r, y - 0.8 * r, size / 4, color);
        break;
    case EX_NO_MARKER:
    case EX_MARKER_NUM: break;
    }
}

/* ---- text -------------------------------------------------------------------------------------------------- */

enum { CAPITAL = 72, SMALL = 52, TALL = 76 };

/* How a size comes out in pixels. Outer edges of strokes at the baseline and at the heights of small and capital
   letters are put on whole pixels, which keeps small text sharp. */
typedef struct type {
    double unit, across, stroke, extra; /* pixels per font unit (up, across), pen width, room added per letter */
    double small, capital, tall; /* heights of the pen's centre line */
    bool snap;
} type;

static type type_of(double size, ex_weight weight, bool snap)
{
    type t;
    double regular = clamp(0.088 * size, 1.15, 1e4);

    t.unit = size / 100 * 0.885;
    t.across = size / 100 * 0.945;
    t.stroke = weight == EX_BOLD ? clamp(0.128 * size, 1.6, 1e4) : regular;
    t.extra = 0.8 * (t.stroke - regular);
    t.snap = snap;
    t.small = SMALL * t.unit + t.stroke;
    t.capital = CAPITAL * t.unit + t.stroke;
    t.tall = TALL * t.unit + t.stroke;
    if (snap) {
        t.small = floor(t.small + 0.5);
        t.capital = floor(t.capital + 0.5);
        t.tall = floor(t.tall + 0.5);
    }
    t.small -= t.stroke / 2;
    t.capital -= t.stroke / 2;
    t.tall -= t.stroke / 2;
    return t;
}

/* Height above the baseline, in pixels, of a height in font units: linear between the fixed ones. */
static double type_height(const type *t, double y)
{
    double base = t->stroke / 2;

    if (y <= 0) return base + y * t->unit;
    if (y <= SMALL) return base + y / SMALL * (t->small - base);
    if (y <= CAPITAL) return t->small + (y - SMALL) / (CAPITAL - SMALL) * (t->capital - t->small);
    if (y <= TALL) return t->capital + (y - CAPITAL) / (TALL - CAPITAL) * (t->tall - t->capital);
    return t->tall + (y - TALL) * t->unit;
}

/* The next character; a byte that is not UTF-8 counts as one unknown character. */
static uint32_t next_character(const char **text)
{
    const unsigned char *s = (const unsigned char *)*text;
    uint32_t code = *s;
    int more = code >= 0xF0 ? 3 : code >= 0xE0 ? 2 : code >= 0xC0 ? 1 : 0, i;

    *text += 1;
    if (code < 0x80) return code;
    if (more == 0) return 0xFFFD;
    code &= 0x3Fu >> more;
    for (i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0xFFFD;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    *text += more;
    return code;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A hyphen before a number that follows nothing is meant as a minus, which is wider and sits higher. */
static const ex_glyph *next_glyph(const char *start, const char **text)
{
    const char *at = *text;
    uint32_t code = next_character(text);
    char before = at > start ? at[-1] : ' ';

    if (code == '-' && (is_digit(at[1]) || (at[1] == '.' && is_digit(at[2])))) {
        if (before == ' ' || before == '(' || before == '\n' || before == '=' || before == ',' || before == '[') {
            return ex_glyph_of(0x2212);
        }
    }
    return ex_glyph_of(code);
}

static double line_width(const type *t, const char *text, const char *end)
{
    const char *start = text;
    double width = 0;

    while (*text && text != end && *text != '\n') {
        const ex_glyph *g = next_glyph(start, &text);
        width += (g->left + g->width + g->right) * t->across + t->extra;
        if (end && text > end) break;
    }
    return width;
}

double ex_text_width(double size, ex_weight weight, const char *text)
{
    type t = type_of(size, weight, false);
    double widest = 0;

    for (; text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL) {
        widest = fmax(widest, line_width(&t, text, NULL));
    }
    return widest;
}

int32_t ex_text_wrap(double size, ex_weight weight, double width, char *text)
{
    type t = type_of(size, weight, false);
    char *start = text, *blank = NULL, *at;
    int32_t lines = 1;

    for (at = text;; at++) {
        if (*at == ' ' || *at == '\0' || *at == '\n') {
            if (blank && line_width(&t, start, at) > width) {
                *blank = '\n';
                start = blank + 1;
                lines++;
            }
            blank = *at == ' ' ? at : NULL;
        }
        if (*at == '\n') {
            start = at + 1;
            lines++;
        }
        if (*at == '\0') return lines;
    }
}

/* Where the pen is: turns font units into pixels and draws. */
typedef struct pen {
    ex_canvas *c;
    const type *t;
    box touched;
    double x, y, cos_a, sin_a, origin_x, origin_y; /* the letter's left end on the baseline, before turning */
    ex_point at;
    bool down;
} pen;

static ex_point pen_place(const pen *p, double x, double y)
{
    double px = p->x + x * p->t->across - p->origin_x, py = p->y - type_height(p->t, y) - p->origin_y;
    ex_point out;

    out.x = p->origin_x + px * p->cos_a + py * p->sin_a;
    out.y = p->origin_y - px * p->sin_a + py * p->cos_a;
    return out;
}

static void pen_to(pen *p, double x, double y)
{
    ex_point to = pen_place(p, x, y);

    if (p->down) cover_segment(p->c, &p->touched, p->at, to, p->t->stroke);
    p->at = to;
    p->down = true;
}

/* Pieces short enough to look round at this size. */
static int pieces(const pen *p)
{
    return (int)clamp(6 + p->t->unit * 14, 8, 40);
}

static void pen_curve(pen *p, const double *from, const double *n)
{
    int i, steps = pieces(p);

    for (i = 1; i <= steps; i++) {
        double t = (double)i / steps, s = 1 - t;
        double a = s * s * s, b = 3 * s * s * t, d = 3 * s * t * t, e = t * t * t;
        pen_to(p, a * from[0] + b * n[0] + d * n[2] + e * n[4], a * from[1] + b * n[1] + d * n[3] + e * n[5]);
    }
}

/* Slightly squarer than an ellipse, which reads better small: |x|^2.3 + |y|^2.3 = 1. */
static void pen_arc(pen *p, const double *n)
{
    int i, steps = 3 * pieces(p);

    for (i = 0; i <= steps; i++) {
        double angle = (n[4] + (n[5] - n[4]) * i / steps) * PI / 180, x = cos(angle), y = sin(angle);
        double r = pow(pow(fabs(x), 2.3) + pow(fabs(y), 2.3), -1 / 2.3);
        pen_to(p, n[0] + n[2] * r * x, n[1] + n[3] * r * y);
    }
}

static int read_numbers(const char **path, double *out, int want)
{
    const char *s = *path;
    int n;

    for (n = 0; n < want; n++) {
        bool minus;
        int value = 0;
        while (*s == ' ') s++;
        minus = *s == '-';
        if (!is_digit(s[minus])) break;
        for (s += minus; is_digit(*s); s++) value = 10 * value + (*s - '0');
        out[n] = minus ? -value : value;
    }
    *path = s;
    return n;
}

static void draw_glyph(pen *p, const ex_glyph *g)
{
    static const char letters[] = "MLCAD";
    static const int wants[] = { 2, 2, 6, 6, 2 };
    const char *path = g->path;
    double at[2] = { 0, 0 }, n[6];

    p->down = false;
    while (*path) {
        const char *letter = strchr(letters, *path++), *before;
        int want;
        if (!letter || !*letter) continue;
        want = wants[letter - letters];
        if (*letter == 'M' || *letter == 'D') p->down = false;
        for (before = path; read_numbers(&path, n, want) == want; before = path) {
            if (*letter == 'C') pen_curve(p, at, n);
            else if (*letter == 'A') pen_arc(p, n);
            else pen_to(p, n[0], n[1]);
            if (*letter == 'D') {
                cover_segment(p->c, &p->touched, p->at, p->at, 1.3 * p->t->stroke);
                p->down = false;
            }
            at[0] = n[want - 2];
            at[1] = n[want - 1];
        }
        path = before;
    }
}

void ex_draw_text_turned(ex_canvas *c, double x, double y, double size, ex_weight weight, int align, double degrees,
                         ex_color color, const char *text)
{
    bool level = fabs(degrees) < 1e-9;
    type t;
    pen p;
    double line_step, block;
    const char *line;
    int32_t lines = 1;

    if (!isfinite(x + y + size + degrees) || !(size > 0) || size > SIDE_MOST || fabs(x) > 1e6 || fabs(y) > 1e6) return;
    t = type_of(size, weight, level);
    line_step = floor(1.35 * size + 0.5);
    for (line = text; (line = strchr(line, '\n')) != NULL; line++) lines++;
    block = (t.capital + t.stroke / 2) + (lines - 1) * line_step;
    memset(&p, 0, sizeof p);
    p.c = c;
    p.t = &t;
    p.cos_a = cos(degrees * PI / 180);
    p.sin_a = sin(degrees * PI / 180);
    p.origin_x = x;
    p.origin_y = y;
    if (align & EX_TOP) y += t.capital + t.stroke / 2;
    else if (align & EX_MIDDLE) y += t.capital + t.stroke / 2 - block / 2;
    if (level) y = floor(y + 0.5);
    for (line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL, y += line_step) {
        double pen_x = x, wide = line_width(&t, line, NULL);
        const char *at = line;
        if ((align & 3) == EX_CENTER) pen_x -= wide / 2;
        if ((align & 3) == EX_RIGHT) pen_x -= wide;
        p.y = y;
        while (*at && *at != '\n') {
            const ex_glyph *g = next_glyph(line, &at);
            p.x = pen_x + g->left * t.across + t.extra / 2;
            draw_glyph(&p, g);
            pen_x += (g->left + g->width + g->right) * t.across + t.extra;
        }
    }
    blend(c, p.touched, color);
}

void ex_draw_text(ex_canvas *c, double x, double y, double size, ex_weight weight, int align, ex_color color,
                  const char *text)
{
    ex_draw_text_turned(c, x, y, size, weight, align, 0, color, text);
}
