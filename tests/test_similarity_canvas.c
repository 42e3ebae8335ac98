/* What visualize needs of the canvas: the fast PNG writer against a decoder of our own, and pictures made smaller. */

#include "common.h"
#include "rllb.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- a decoder of what the fast writer writes: one block of the fixed code (RFC 1951) ------------------------ */

typedef struct bits {
    const unsigned char *data;
    size_t size, at; /* at: in bits */
} bits;

static uint32_t take(bits *b, int count) /* lowest bit first */
{
    uint32_t v = 0;
    int i;

    for (i = 0; i < count; i++, b->at++) {
        if (b->at / 8 < b->size) v |= (uint32_t)(b->data[b->at / 8] >> b->at % 8 & 1) << i;
    }
    return v;
}

static uint32_t take_code(bits *b, int count) /* highest bit first */
{
    uint32_t v = 0;

    for (; count > 0; count--) v = v << 1 | take(b, 1);
    return v;
}

static uint32_t take_symbol(bits *b)
{
    uint32_t v = take_code(b, 7);

    if (v < 24) return 256 + v;
    v = v << 1 | take(b, 1);
    if (v >= 0x30 && v < 0xC0) return v - 0x30;
    if (v >= 0xC0 && v < 0xC8) return 280 + v - 0xC0;
    return (v << 1 | take(b, 1)) - 0x190 + 144;
}

/* Answers how many bytes came out; 0 if something is wrong. */
static size_t inflate(const unsigned char *data, size_t size, unsigned char *out, size_t room)
{
    static const int length_base[29] = { 3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
    static const int length_extra[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                          2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
    static const int away_base[30] = { 1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                       33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                       1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };
    bits b;
    size_t n = 0;

    b.data = data;
    b.size = size;
    b.at = 0;
    if (take(&b, 3) != 3) return 0;
    while (b.at < 8 * size) {
        uint32_t symbol = take_symbol(&b), code, extra;
        size_t length, away;
        if (symbol == 256) return (b.at + 7) / 8 == size ? n : 0;
        if (symbol < 256) {
            if (n == room) return 0;
            out[n++] = (unsigned char)symbol;
            continue;
        }
        if (symbol > 285) return 0;
        length = (size_t)length_base[symbol - 257] + take(&b, length_extra[symbol - 257]);
        code = take_code(&b, 5);
        if (code > 29) return 0;
        extra = code < 4 ? 0 : code / 2 - 1;
        away = (size_t)away_base[code] + take(&b, (int)extra);
        if (away > n || n + length > room) return 0;
        for (; length > 0; length--, n++) out[n] = out[n - away];
    }
    return 0;
}

static uint32_t big_endian_at(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* Does the file hold just these pixels? */
static bool holds(const char *path, const ex_canvas *c)
{
    size_t row = 3 * (size_t)c->width + 1, size = row * (size_t)c->height, body, y;
    unsigned char *out = malloc(size);
    ex_text file = { NULL, 0, 0, false };
    uint32_t a = 1, b = 0;
    bool ok = out && ex_file_read(path, 1u << 28, &file) && file.size > 57;

    ok = ok && big_endian_at(file.data + 16) == (uint32_t)c->width &&
         big_endian_at(file.data + 20) == (uint32_t)c->height;
    body = ok ? big_endian_at(file.data + 33) : 0; /* behind signature (8) and IHDR (25) */
    ok = ok && memcmp(file.data + 37, "IDAT", 4) == 0 && file.size == 33 + 12 + body + 12;
    ok = ok && inflate((const unsigned char *)file.data + 43, body - 6, out, size) == size;
    for (y = 0; ok && y < size; y++) {
        a = (a + out[y]) % 65521;
        b = (b + a) % 65521;
    }
    ok = ok && big_endian_at(file.data + 41 + body - 4) == (b << 16 | a);
    for (y = 0; ok && y < (size_t)c->height; y++) {
        ok = out[y * row] == 0 && memcmp(out + y * row + 1, c->rgb + y * (row - 1), row - 1) == 0;
    }
    ex_text_free(&file);
    free(out);
    return ok;
}

TEST(fast_png_holds_the_pixels)
{
    static const int32_t sizes[][2] = { { 1, 1 }, { 2, 1 }, { 1, 70 }, { 3, 3 }, { 97, 61 }, { 960, 40 }, { 8192, 3 } };
    char path[] = "/tmp/rllb-canvas-XXXXXX";
    int fd = mkstemp(path), kind;
    int32_t i;
    size_t k;

    REQUIRE(fd >= 0);
    close(fd);
    for (i = 0; i < EX_COUNT(sizes); i++) {
        for (kind = 0; kind < 4; kind++) { /* even, noise, stripes of few colours, all bytes in turn */
            ex_canvas c;
            rllb_rng rng;
            size_t bytes;
            REQUIRE(ex_canvas_create(&c, sizes[i][0], sizes[i][1]));
            bytes = 3 * (size_t)c.width * (size_t)c.height;
            rllb_rng_init(&rng, 1, 0);
            for (k = 0; k < bytes && kind > 0; k++) {
                c.rgb[k] = (unsigned char)(kind == 1   ? rllb_rng_below(&rng, 256)
                                           : kind == 2 ? 200 + rllb_rng_below(&rng, 2)
                                                       : (int32_t)(k * 7 % 256));
            }
            REQUIRE(ex_canvas_write_png_fast(&c, path));
            CHECK(holds(path, &c));
            c.rgb[bytes - 1] ^= 1;
            CHECK(!holds(path, &c)); /* the check can fail */
            ex_canvas_free(&c);
        }
    }
    CHECK_EQ_I(unlink(path), 0);
}

TEST(a_smaller_picture_is_the_mean_of_the_larger)
{
    ex_canvas large, small;
    ex_rect r = { 1, 1, 2, 2 };
    int32_t x, y;

    REQUIRE(ex_canvas_create(&large, 3, 3) && ex_canvas_create(&small, 4, 4));
    for (y = 0; y < 3; y++) {
        for (x = 0; x < 3; x++) memset(large.rgb + 3 * (3 * y + x), 10 * (3 * y + x), 3);
    }
    ex_draw_picture(&small, r, &large);
    /* the upper left one covers a whole pixel, two halves and a quarter: (0 + 10 / 2 + 30 / 2 + 40 / 4) / 2.25 */
    CHECK_EQ_I(small.rgb[3 * 5], 13);
    CHECK_EQ_I(small.rgb[3 * 10], 67); /* (80 + 70 / 2 + 50 / 2 + 40 / 4) / 2.25 = 66.7 */
    CHECK_EQ_I(small.rgb[0], 255);     /* outside of r */
    r.x = r.y = 0;
    r.width = r.height = 3;
    ex_draw_picture(&small, r, &large); /* the same size: the same pixels */
    for (y = 0; y < 3; y++) CHECK_MEM(small.rgb + 3 * 4 * y, large.rgb + 3 * 3 * y, 9);
    r.x = -100;
    ex_draw_picture(&small, r, &large); /* not there at all */
    r.x = 2.5;
    r.y = -1.25;
    ex_draw_picture(&small, r, &large); /* half out */
    CHECK_EQ_I(small.width, 4);
    ex_canvas_free(&large);
    ex_canvas_free(&small);
}
