/* test.h - the test harness of rllb: one file of tests is one program

       #define RLLB_IMPLEMENTATION
       #include "rllb.h"
       #include "test.h"

       TEST(addition)
       {
           int32_t sum = 1 + 1;
           CHECK(sum > 0);
           CHECK_EQ_I(sum, 2);
           CHECK_NEAR(0.1 + 0.2, 0.3, 1e-12);
       }

   That is all: the tests register themselves in the order of the file, and main() is here.

       TEST(name) { ... }              a test; names are unique in the file
       CHECK(condition)                the first argument is what came out, the second what should have
       CHECK_EQ_I(actual, expected)    integers, enums, bools, sizes
       CHECK_EQ_U(actual, expected)    unsigned 64 bits, shown in hexadecimal too
       CHECK_NEAR(actual, expected, tolerance)   |difference| <= tolerance; NaN is never near
       CHECK_REL(actual, expected, tolerance)    |difference| <= tolerance * max(1, |expected|)
       CHECK_STR(actual, expected)     strings; NULL is equal to NULL only
       CHECK_MEM(actual, expected, bytes)        the same bytes; names the first that differs
       REQUIRE(condition)              like CHECK, but ends the test when it fails: for what the rest stands on.
                                       Usable in TEST itself only (it returns)
       NOTE(format, ...)               a line in the log, shown with -v and after a failure: say the figure you measured
       SKIP(why)                       ends the test as skipped, neither passed nor failed

   A failed check prints "file:line: test: what", and the test goes on; after ten of one test the rest is only
   counted. A test without a single check fails: it tests nothing. The last line is "N passed, N failed", tests
   counted, with ", N skipped" when there are any. Exit status 0 if none failed, 1 otherwise, 2 wrong usage.

       test_program            all tests
       test_program -v         also says which test runs, notes, and seconds
       test_program words      tests whose name contains one of the words
       test_program -l         list

   Arguments of the macros are evaluated once. Check on the thread that runs the test; other threads hand their
   findings over. C99 and C++11, gcc and clang. */

#ifndef TEST_H
#define TEST_H

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct test_case {
    const char *name;
    void (*fn)(void);
    struct test_case *next;
} test_case;

enum { TEST_SHOWN_MAX = 10 };

static struct test_state {
    test_case *first, *last;
    const char *name;      /* of the running test */
    int checks, failures;  /* of the running test */
    bool skipped, verbose; /* skipped: of the running test */
    char note[400];        /* last note of the running test, shown when a check fails */
} test_state;

#ifdef __GNUC__
#define TEST_FORMAT(string, first) __attribute__((format(printf, string, first)))
#else
#define TEST_FORMAT(string, first)
#endif

#define TEST(id)                                                      \
    static void test_fn_##id(void);                                   \
    static test_case test_case_##id = { #id, test_fn_##id, NULL };    \
    __attribute__((constructor)) static void test_register_##id(void) \
    {                                                                 \
        test_register(&test_case_##id);                               \
    }                                                                 \
    static void test_fn_##id(void)

static inline void test_register(test_case *c)
{
    if (test_state.last) test_state.last->next = c;
    else test_state.first = c;
    test_state.last = c;
}

/* Counts one check and, when it failed, says so. Returns ok. */
TEST_FORMAT(4, 5) static inline bool test_check(bool ok, const char *file, int line, const char *format, ...)
{
    va_list args;

    test_state.checks++;
    if (ok) return true;
    test_state.failures++;
    if (test_state.failures > TEST_SHOWN_MAX) return false;
    printf("%s:%d: %s: ", file, line, test_state.name ? test_state.name : "?");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    if (test_state.note[0]) printf(" (%s)", test_state.note);
    printf("\n");
    return false;
}

TEST_FORMAT(1, 2) static inline void test_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(test_state.note, sizeof test_state.note, format, args);
    va_end(args);
    if (test_state.verbose) printf("    %s\n", test_state.note);
}

static inline bool test_eq_i(long long a, long long b, const char *words, const char *file, int line)
{
    return test_check(a == b, file, line, "%s: is %lld, should be %lld", words, a, b);
}

static inline bool test_eq_u(uint64_t a, uint64_t b, const char *words, const char *file, int line)
{
    return test_check(a == b, file, line, "%s: is %" PRIu64 " (0x%" PRIx64 "), should be %" PRIu64 " (0x%" PRIx64 ")",
                      words, a, a, b, b);
}

static inline bool test_near(double a, double b, double tolerance, const char *words, const char *file, int line)
{
    bool same = a <= b && a >= b; /* infinities too */
    return test_check(same || fabs(a - b) <= tolerance, file, line, "%s: is %.17g, should be %.17g, off by %g > %g",
                      words, a, b, a - b, tolerance);
}

static inline bool test_rel(double a, double b, double tolerance, const char *words, const char *file, int line)
{
    return test_near(a, b, tolerance * (fabs(b) > 1 ? fabs(b) : 1), words, file, line);
}

static inline bool test_str(const char *a, const char *b, const char *words, const char *file, int line)
{
    bool same = a && b ? strcmp(a, b) == 0 : a == b;
    return test_check(same, file, line, "%s: is \"%s\", should be \"%s\"", words, a ? a : "(NULL)", b ? b : "(NULL)");
}

static inline bool test_mem(const void *a, const void *b, size_t bytes, const char *words, const char *file, int line)
{
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    size_t i = 0;

    while (i < bytes && x[i] == y[i]) i++;
    if (i == bytes) return test_check(true, file, line, "%s", words);
    return test_check(false, file, line, "%s: byte %lu of %lu is 0x%02x, should be 0x%02x", words, (unsigned long)i,
                      (unsigned long)bytes, x[i], y[i]);
}

#define CHECK(condition) ((void)test_check((condition) ? true : false, __FILE__, __LINE__, "%s: is false", #condition))
#define CHECK_EQ_I(actual, expected) \
    ((void)test_eq_i((long long)(actual), (long long)(expected), #actual, __FILE__, __LINE__))
#define CHECK_EQ_U(actual, expected) \
    ((void)test_eq_u((uint64_t)(actual), (uint64_t)(expected), #actual, __FILE__, __LINE__))
#define CHECK_NEAR(actual, expected, tolerance) \
    ((void)test_near((double)(actual), (double)(expected), (double)(tolerance), #actual, __FILE__, __LINE__))
#define CHECK_REL(actual, expected, tolerance) \
    ((void)test_rel((double)(actual), (double)(expected), (double)(tolerance), #actual, __FILE__, __LINE__))
#define CHECK_STR(actual, expected) ((void)test_str((actual), (expected), #actual, __FILE__, __LINE__))
#define CHECK_MEM(actual, expected, bytes) \
    ((void)test_mem((actual), (expected), (size_t)(bytes), #actual, __FILE__, __LINE__))
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!test_check((condition) ? true : false, __FILE__, __LINE__, "%s: is false, test ends", \
                        #condition))                                                               \
            return;                                                                                \
    } while (0)
#define NOTE(...) test_note(__VA_ARGS__)
#define SKIP(why)                                            \
    do {                                                     \
        test_state.skipped = true;                           \
        printf("%s: skipped: %s\n", test_state.name, (why)); \
        return;                                              \
    } while (0)

static inline bool test_wanted(const test_case *c, int argc, char **argv)
{
    bool words = false;
    int i;

    for (i = 1; i < argc; i++) {
        if (argv[i][0] == '-') continue;
        words = true;
        if (strstr(c->name, argv[i])) return true;
    }
    return !words;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0, skipped = 0, i;
    bool list = false;
    test_case *c;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) test_state.verbose = true;
        else if (strcmp(argv[i], "-l") == 0) list = true;
        else if (argv[i][0] == '-') {
            fprintf(stderr, "usage: %s [-v] [-l] [part of a name ...]\n", argv[0]);
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* so that a crash does not swallow what was said before it */
    for (c = test_state.first; c; c = c->next) {
        clock_t start = clock();
        if (!test_wanted(c, argc, argv)) continue;
        if (list) {
            printf("%s\n", c->name);
            continue;
        }
        test_state.name = c->name;
        test_state.checks = test_state.failures = 0;
        test_state.skipped = false;
        test_state.note[0] = 0;
        if (test_state.verbose) printf("%s ...\n", c->name);
        c->fn();
        if (test_state.checks == 0 && !test_state.skipped) {
            test_check(false, __FILE__, __LINE__, "the test checks nothing");
        }
        if (test_state.failures > TEST_SHOWN_MAX) {
            printf("%s: %d more failed checks\n", c->name, test_state.failures - TEST_SHOWN_MAX);
        }
        if (test_state.failures) failed++;
        else if (test_state.skipped) skipped++;
        else passed++;
        if (test_state.verbose) {
            printf("%s %s: %d checks, %.2f s\n", c->name,
                   test_state.failures ? "FAILED" : test_state.skipped ? "skipped" : "ok", test_state.checks,
                   (double)(clock() - start) / (double)CLOCKS_PER_SEC);
        }
    }
    if (list) return 0;
    if (passed + failed + skipped == 0) {
        fprintf(stderr, "%s: no test of that name\n", argv[0]);
        return 2;
    }
    printf("%d passed, %d failed", passed, failed);
    if (skipped) printf(", %d skipped", skipped);
    printf("\n");
    return failed ? 1 : 0;
}

#endif /* TEST_H */
