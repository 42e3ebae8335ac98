/* options.h - the command line of an example program

   The program keeps its settings in variables that hold the defaults, lists them in a table, and asks once:

       int32_t episodes = 800, algo = 0;
       double gamma = 0.95;
       const char *out = "out/train";
       bool quiet = false;
       static const char *const algos[] = { "dqn", "dueling", NULL };
       ex_option options[] = {
           EX_HEADING("Training"),
           EX_INT("episodes", &episodes, 1, 1000000, "N", "episodes to train"),
           EX_DOUBLE("gamma", &gamma, 0, 1, "X", "discount of later rewards"),
           EX_CHOICE("algo", &algo, algos, "kind of network"),
           EX_HEADING("Common"),
           EX_STRING("out", &out, "DIR", "folder for the results"),
           EX_FLAG("quiet", &quiet, "no progress bar"),
       };
       ex_program program = { .name = "train", .summary = "trains a balancing policy", .options = options,
                              .option_count = EX_COUNT(options) };
       int status = ex_options_parse(&program, argc, argv);
       if (status >= 0) return status;

   --name value and --name=value are the same; a flag takes no value (or =yes, =no); the last of several wins.
   What is wrong is one line on stderr, and the status to leave with is 2. --help and --version answer on stdout
   and leave with 0. */

#ifndef EX_OPTIONS_H
#define EX_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EX_COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))
#define EX_LIST_MAX 64

#if defined(__GNUC__)
#define EX_PRINTF(format_at, values_at) __attribute__((format(printf, format_at, values_at)))
#else
#define EX_PRINTF(format_at, values_at)
#endif

/* What a program leaves with. */
enum { EX_OK = 0, EX_FAILED = 1, EX_USAGE = 2, EX_GO_ON = -1 };

typedef struct ex_list {
    int32_t count;
    double values[EX_LIST_MAX];
} ex_list;

typedef enum ex_option_kind {
    EX_KIND_HEADING,
    EX_KIND_FLAG,
    EX_KIND_INT,
    EX_KIND_INT64,
    EX_KIND_SEED,
    EX_KIND_FLOAT,
    EX_KIND_DOUBLE,
    EX_KIND_STRING,
    EX_KIND_CHOICE,  /* one name of several: its index */
    EX_KIND_CHOICES, /* several names, by comma: bit i for name i; "all" is all of them */
    EX_KIND_LIST,    /* numbers, by comma */
    EX_KIND_INT_LIST, /* whole numbers, by comma */
    EX_KIND_CALL     /* a function of yours takes the value, as often as it is given */
} ex_option_kind;

typedef struct ex_option {
    ex_option_kind kind;
    const char *name; /* without the dashes */
    union {
        bool *flag;
        int32_t *i32;
        int64_t *i64;
        uint64_t *u64;
        uint32_t *bits;
        float *f32;
        double *f64;
        const char **string;
        ex_list *list;
    } to;
    int (*call)(void *self, const char *text); /* answers EX_GO_ON, or has said what is wrong: EX_USAGE */
    void *self;
    double low, high; /* both 0: any */
    const char *const *names; /* choices, NULL at the end */
    const char *value; /* how --help calls the value */
    const char *help;
    bool given; /* set by ex_options_parse */
} ex_option;

#define EX_HEADING(text) { .kind = EX_KIND_HEADING, .help = text }
#define EX_FLAG(n, p, h) { .kind = EX_KIND_FLAG, .name = n, .to = { .flag = p }, .help = h }
#define EX_INT(n, p, lo, hi, v, h) \
    { .kind = EX_KIND_INT, .name = n, .to = { .i32 = p }, .low = lo, .high = hi, .value = v, .help = h }
#define EX_INT64(n, p, lo, hi, v, h) \
    { .kind = EX_KIND_INT64, .name = n, .to = { .i64 = p }, .low = lo, .high = hi, .value = v, .help = h }
#define EX_SEED(n, p, h) { .kind = EX_KIND_SEED, .name = n, .to = { .u64 = p }, .value = "N", .help = h }
#define EX_FLOAT(n, p, lo, hi, v, h) \
    { .kind = EX_KIND_FLOAT, .name = n, .to = { .f32 = p }, .low = lo, .high = hi, .value = v, .help = h }
#define EX_DOUBLE(n, p, lo, hi, v, h) \
    { .kind = EX_KIND_DOUBLE, .name = n, .to = { .f64 = p }, .low = lo, .high = hi, .value = v, .help = h }
#define EX_STRING(n, p, v, h) { .kind = EX_KIND_STRING, .name = n, .to = { .string = p }, .value = v, .help = h }
#define EX_CHOICE(n, p, c, h) { .kind = EX_KIND_CHOICE, .name = n, .to = { .i32 = p }, .names = c, .help = h }
#define EX_CHOICES(n, p, c, h) { .kind = EX_KIND_CHOICES, .name = n, .to = { .bits = p }, .names = c, .help = h }
#define EX_LIST(n, p, lo, hi, v, h) \
    { .kind = EX_KIND_LIST, .name = n, .to = { .list = p }, .low = lo, .high = hi, .value = v, .help = h }
#define EX_INT_LIST(n, p, lo, hi, v, h) \
    { .kind = EX_KIND_INT_LIST, .name = n, .to = { .list = p }, .low = lo, .high = hi, .value = v, .help = h }
#define EX_CALL(n, f, s, v, h) { .kind = EX_KIND_CALL, .name = n, .call = f, .self = s, .value = v, .help = h }

typedef struct ex_program {
    const char *name;    /* "train" */
    const char *summary; /* what it does, one line, no full stop */
    const char *details; /* shown below the options: examples, files written; may be NULL */
    ex_option *options;
    int32_t option_count;
    const char *arguments_name; /* arguments without dashes, such as "MODEL..."; NULL: there are none */
    int32_t arguments_min, arguments_max;
    const char **arguments; /* found here: at most arguments_max of them */
    int32_t argument_count; /* set by ex_options_parse */
} ex_program;

/* EX_GO_ON, or the status to leave with. Also tells ex_fail and its kin the name of the program. */
int ex_options_parse(ex_program *program, int argc, char **argv);
/* Was the option on the command line? */
bool ex_option_given(const ex_program *program, const char *name);

/* One line on stderr, "train: " before it, a progress bar out of the way; control characters become '?'. */
int ex_fail(const char *format, ...) EX_PRINTF(1, 2);                             /* EX_FAILED */
int ex_usage(const char *option, const char *format, ...) EX_PRINTF(2, 3);        /* "--option: ...", EX_USAGE */
void ex_warn(const char *format, ...) EX_PRINTF(1, 2);
const char *ex_program_name(void);

/* The whole of text as a number, or false: no junk behind it, no overflow, no nan, no inf. */
bool ex_parse_int64(const char *text, int64_t *out);
bool ex_parse_uint64(const char *text, uint64_t *out);
bool ex_parse_double(const char *text, double *out);
/* The name nearest to text, NULL if none is near. names ends with NULL. */
const char *ex_nearest(const char *text, const char *const *names);

#endif
