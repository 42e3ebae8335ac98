/* options.c - see options.h */

#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../rllb.h"
#include "terminal.h"

enum { PAGE_WIDTH = 100, MESSAGE_BYTES = 1024 };

static const char *program_name = "rllb";

const char *ex_program_name(void)
{
    return program_name;
}

/* ---- complaints -------------------------------------------------------------------------------------------- */

/* One write, so that lines of several programs do not mix. */
static void complain(const char *option, const char *prefix, const char *format, va_list values)
{
    char line[MESSAGE_BYTES];
    size_t used = 0, i;
    int wrote;

    wrote = snprintf(line, sizeof line, "%s: %s%s%s%s", program_name, prefix, option ? "--" : "",
                     option ? option : "", option ? ": " : "");
    if (wrote > 0) used = (size_t)wrote < sizeof line ? (size_t)wrote : sizeof line - 1;
    vsnprintf(line + used, sizeof line - used, format, values);
    for (i = 0; line[i]; i++) {
        if ((unsigned char)line[i] < 32 || line[i] == 127) line[i] = '?';
    }
    fflush(stdout);
    ex_clear_progress();
    fprintf(stderr, "%s\n", line);
}

int ex_fail(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    complain(NULL, "", format, values);
    va_end(values);
    return EX_FAILED;
}

int ex_usage(const char *option, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    complain(option, "", format, values);
    va_end(values);
    return EX_USAGE;
}

void ex_warn(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    complain(NULL, "warning: ", format, values);
    va_end(values);
}

/* ---- numbers and names ------------------------------------------------------------------------------------- */

/* strtol and its kin skip blanks and take more than one spelling; a number here starts with a digit, perhaps after
   one sign. */
static bool starts_like_number(const char *text, bool fraction)
{
    if (*text == '-' || *text == '+') text++;
    if (fraction && *text == '.') text++;
    return isdigit((unsigned char)*text) != 0;
}

bool ex_parse_int64(const char *text, int64_t *out)
{
    char *end;
    long long value;

    if (!starts_like_number(text, false)) return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || *end) return false;
    *out = value;
    return true;
}

bool ex_parse_uint64(const char *text, uint64_t *out)
{
    char *end;
    unsigned long long value;

    if (!isdigit((unsigned char)*text)) return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || *end) return false;
    *out = value;
    return true;
}

bool ex_parse_double(const char *text, double *out)
{
    char *end;
    double value;

    if (!starts_like_number(text, true) || strpbrk(text, "xX")) return false;
    value = strtod(text, &end); /* overflow shows as inf; underflow to 0 or a subnormal is fine */
    if (*end || !isfinite(value)) return false;
    *out = value;
    return true;
}

/* Edits (insert, delete, replace, swap neighbours) that turn a into b. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    int d[LONGEST + 1][LONGEST + 1];
    int i, j, na = (int)strlen(a), nb = (int)strlen(b);

    if (na > LONGEST || nb > LONGEST) return LONGEST;
    for (i = 0; i <= na; i++) d[i][0] = i;
    for (j = 0; j <= nb; j++) d[0][j] = j;
    for (i = 1; i <= na; i++) {
        for (j = 1; j <= nb; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best) {
                best = d[i - 2][j - 2] + 1;
            }
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

const char *ex_nearest(const char *text, const char *const *names)
{
    const char *found = NULL;
    int best = (int)strlen(text) / 3 + 1;

    for (; *names; names++) {
        int far = distance(text, *names);
        if (strlen(text) >= 2 && strncmp(text, *names, strlen(text)) == 0) far = 1; /* a beginning of it */
        if (far < best || (far == best && !found)) {
            best = far;
            found = *names;
        }
    }
    return found;
}

/* ---- one value --------------------------------------------------------------------------------------------- */

static void join_names(const char *const *names, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (; *names && used < size; names++) {
        int wrote = snprintf(out + used, size - used, "%s%s", used ? ", " : "", *names);
        if (wrote < 0) return;
        used += (size_t)wrote;
    }
}

static int bad_name(const ex_option *o, const char *text)
{
    char all[512];
    const char *near = ex_nearest(text, o->names);

    join_names(o->names, all, sizeof all);
    if (near) return ex_usage(o->name, "no '%.60s' here; did you mean %s? (one of: %s)", text, near, all);
    return ex_usage(o->name, "no '%.60s' here; one of: %s", text, all);
}

static bool in_range(const ex_option *o, double value)
{
    return (o->low == 0 && o->high == 0) || (value >= o->low && value <= o->high);
}

static int bad_range(const ex_option *o, const char *text)
{
    return ex_usage(o->name, "%.60s is out of range, must be %.10g to %.10g", text, o->low, o->high);
}

static int32_t index_of(const char *const *names, const char *text, size_t length)
{
    int32_t i;

    for (i = 0; names[i]; i++) {
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0) return i;
    }
    return -1;
}

/* Walks the parts between commas: copies the next one, false after the last. */
static bool next_part(const char **at, char *part, size_t size)
{
    size_t length;

    if (!*at) return false;
    length = strcspn(*at, ",");
    snprintf(part, size, "%.*s", (int)(length < size ? length : size - 1), *at);
    *at = (*at)[length] ? *at + length + 1 : NULL;
    return true;
}

static int set_list(ex_option *o, const char *text)
{
    bool whole = o->kind == EX_KIND_INT_LIST;
    ex_list list = { 0, { 0 } };
    const char *at = text;
    char part[64];

    while (next_part(&at, part, sizeof part)) {
        double value = 0;
        int64_t integer = 0;
        bool ok = whole ? ex_parse_int64(part, &integer) : ex_parse_double(part, &value);
        if (!ok) return ex_usage(o->name, "'%s' is not a %snumber", part, whole ? "whole " : "");
        if (whole) value = (double)integer;
        if (!in_range(o, value)) return bad_range(o, part);
        if (list.count == EX_LIST_MAX) return ex_usage(o->name, "more than %d numbers", EX_LIST_MAX);
        list.values[list.count++] = value;
    }
    *o->to.list = list;
    return EX_GO_ON;
}

static int set_choices(ex_option *o, const char *text)
{
    uint32_t bits = 0;
    const char *at = text;
    char part[64];
    int32_t i;

    while (next_part(&at, part, sizeof part)) {
        int32_t k = index_of(o->names, part, strlen(part));
        if (k < 0 && strcmp(part, "all") != 0) return bad_name(o, part);
        if (k >= 0) bits |= (uint32_t)1 << k;
        for (i = 0; k < 0 && o->names[i]; i++) bits |= (uint32_t)1 << i;
    }
    *o->to.bits = bits;
    return EX_GO_ON;
}

static int set_flag(ex_option *o, const char *text)
{
    bool yes = !text || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    bool no = text && (strcmp(text, "no") == 0 || strcmp(text, "false") == 0 || strcmp(text, "0") == 0);

    if (!yes && !no) return ex_usage(o->name, "'%.60s' is neither yes nor no", text);
    *o->to.flag = yes;
    return EX_GO_ON;
}

static int set_whole(ex_option *o, const char *text)
{
    int64_t value;

    if (o->kind == EX_KIND_SEED) {
        if (ex_parse_uint64(text, o->to.u64)) return EX_GO_ON;
        return ex_usage(o->name, "'%.60s' is not a whole number from 0 to 18446744073709551615", text);
    }
    if (!ex_parse_int64(text, &value)) {
        double read;
        if (starts_like_number(text, false) && text[strspn(text, "+-0123456789")] == '\0') return bad_range(o, text);
        return ex_usage(o->name, "'%.60s' is not a %snumber", text, ex_parse_double(text, &read) ? "whole " : "");
    }
    if (!in_range(o, (double)value)) return bad_range(o, text);
    if (o->kind == EX_KIND_INT64) {
        *o->to.i64 = value;
        return EX_GO_ON;
    }
    if (value < INT32_MIN || value > INT32_MAX) return ex_usage(o->name, "%.60s is too large", text);
    *o->to.i32 = (int32_t)value;
    return EX_GO_ON;
}

static int set_real(ex_option *o, const char *text)
{
    double value;

    if (!ex_parse_double(text, &value)) return ex_usage(o->name, "'%.60s' is not a number", text);
    if (!in_range(o, value)) return bad_range(o, text);
    if (o->kind == EX_KIND_FLOAT) {
        if (fabs(value) > 3.4e38) return ex_usage(o->name, "%.60s is too large", text);
        *o->to.f32 = (float)value;
    } else {
        *o->to.f64 = value;
    }
    return EX_GO_ON;
}

static int set_value(ex_option *o, const char *text)
{
    int32_t k;

    o->given = true;
    if (o->kind != EX_KIND_FLAG && !*text) return ex_usage(o->name, "its value is empty");
    switch (o->kind) {
    case EX_KIND_FLAG: return set_flag(o, text);
    case EX_KIND_INT:
    case EX_KIND_INT64:
    case EX_KIND_SEED: return set_whole(o, text);
    case EX_KIND_FLOAT:
    case EX_KIND_DOUBLE: return set_real(o, text);
    case EX_KIND_STRING: *o->to.string = text; return EX_GO_ON;
    case EX_KIND_CHOICE:
        k = index_of(o->names, text, strlen(text));
        if (k < 0) return bad_name(o, text);
        *o->to.i32 = k;
        return EX_GO_ON;
    case EX_KIND_CHOICES: return set_choices(o, text);
    case EX_KIND_LIST:
    case EX_KIND_INT_LIST: return set_list(o, text);
    case EX_KIND_CALL: return o->call(o->self, text);
    case EX_KIND_HEADING: break;
    }
    return EX_GO_ON;
}

/* ---- the help page ----------------------------------------------------------------------------------------- */

static void default_text(const ex_option *o, char *out, size_t size)
{
    size_t used = 0;
    int32_t i;

    out[0] = '\0';
    switch (o->kind) {
    case EX_KIND_FLAG: snprintf(out, size, "%s", *o->to.flag ? "yes" : ""); break;
    case EX_KIND_INT: snprintf(out, size, "%ld", (long)*o->to.i32); break;
    case EX_KIND_INT64: snprintf(out, size, "%lld", (long long)*o->to.i64); break;
    case EX_KIND_SEED: snprintf(out, size, "%llu", (unsigned long long)*o->to.u64); break;
    case EX_KIND_FLOAT: snprintf(out, size, "%.6g", (double)*o->to.f32); break;
    case EX_KIND_DOUBLE: snprintf(out, size, "%.10g", *o->to.f64); break;
    case EX_KIND_STRING: snprintf(out, size, "%s", *o->to.string ? *o->to.string : ""); break;
    case EX_KIND_CHOICE: snprintf(out, size, "%s", o->names[*o->to.i32]); break;
    case EX_KIND_CHOICES:
        for (i = 0; o->names[i] && used < size; i++) {
            if (!(*o->to.bits >> i & 1)) continue;
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "," : "", o->names[i]);
        }
        break;
    case EX_KIND_LIST:
    case EX_KIND_INT_LIST:
        for (i = 0; i < o->to.list->count && used < size; i++) {
            used += (size_t)snprintf(out + used, size - used, "%s%.10g", used ? "," : "", o->to.list->values[i]);
        }
        break;
    case EX_KIND_CALL:
    case EX_KIND_HEADING: break;
    }
}

/* Prints words from column `from` on, in lines of PAGE_WIDTH; the cursor is at column `at`. */
static void print_wrapped(const char *text, int from, int at)
{
    while (*text) {
        int room = PAGE_WIDTH - from, length = (int)strlen(text), cut = length;
        if (length > room) {
            for (cut = room; cut > 0 && text[cut] != ' '; cut--) {}
            if (cut == 0) cut = (int)strcspn(text, " ");
        }
        printf("%*s%.*s\n", from - at, "", cut, text);
        text += cut;
        while (*text == ' ') text++;
        at = 0;
    }
}

static void print_option(const ex_option *o, int column)
{
    char left[128], value[512], names[512], text[2048];
    int used;

    default_text(o, value, sizeof value);
    if (o->kind == EX_KIND_FLAG) snprintf(left, sizeof left, "  --%s", o->name);
    else if (o->names) snprintf(left, sizeof left, "  --%s NAME%s", o->name, o->kind == EX_KIND_CHOICES ? ",..." : "");
    else snprintf(left, sizeof left, "  --%s %s", o->name, o->value ? o->value : "VALUE");
    used = snprintf(text, sizeof text, "%s", o->help ? o->help : "");
    if (o->names && used > 0) {
        join_names(o->names, names, sizeof names);
        used += snprintf(text + used, sizeof text - (size_t)used, ": %s", names);
    }
    if (value[0]) snprintf(text + used, sizeof text - (size_t)used, " [%s]", value);
    used = printf("%s", left);
    if (used > column - 2) {
        printf("\n");
        used = 0;
    }
    print_wrapped(text, column, used);
}

static void print_help(const ex_program *p)
{
    static const ex_option help = { .kind = EX_KIND_HEADING, .name = "help", .help = "show this page" };
    static const ex_option version = { .kind = EX_KIND_HEADING, .name = "version", .help = "show the version" };
    int32_t i;
    int column = 20;

    for (i = 0; i < p->option_count; i++) {
        const ex_option *o = &p->options[i];
        const char *value = o->names ? (o->kind == EX_KIND_CHOICES ? "NAME,..." : "NAME") : o->value;
        int wide;
        if (o->kind == EX_KIND_HEADING) continue;
        wide = (int)strlen(o->name) + (value ? (int)strlen(value) + 1 : 0) + 6;
        if (wide > column && wide <= 34) column = wide;
    }
    printf("%s - %s\n\nUsage: %s [options]%s%s\n", p->name, p->summary, p->name, p->arguments_name ? " " : "",
           p->arguments_name ? p->arguments_name : "");
    if (!p->option_count || p->options[0].kind != EX_KIND_HEADING) printf("\nOptions\n");
    for (i = 0; i < p->option_count; i++) {
        if (p->options[i].kind == EX_KIND_HEADING) printf("\n%s\n", p->options[i].help);
        else print_option(&p->options[i], column);
    }
    printf("\nAlso\n  --%-*s%s\n  --%-*s%s\n", column - 4, help.name, help.help, column - 4, version.name,
           version.help);
    printf("\nDefaults stand in brackets. --name value and --name=value mean the same.\n");
    if (p->details) printf("\n%s%s", p->details, p->details[strlen(p->details) - 1] == '\n' ? "" : "\n");
}

/* ---- the command line -------------------------------------------------------------------------------------- */

static ex_option *find(const ex_program *p, const char *name, size_t length)
{
    int32_t i;

    for (i = 0; i < p->option_count; i++) {
        ex_option *o = &p->options[i];
        if (o->kind != EX_KIND_HEADING && strlen(o->name) == length && strncmp(o->name, name, length) == 0) return o;
    }
    return NULL;
}

bool ex_option_given(const ex_program *program, const char *name)
{
    const ex_option *o = find(program, name, strlen(name));
    return o && o->given;
}

static int unknown(const ex_program *p, const char *name, size_t length)
{
    const char *names[128], *near;
    char asked[64];
    int32_t i, n = 0;

    snprintf(asked, sizeof asked, "%.*s", (int)(length < 60 ? length : 60), name);
    names[n++] = "help";
    for (i = 0; i < p->option_count && n < 127; i++) {
        if (p->options[i].kind != EX_KIND_HEADING) names[n++] = p->options[i].name;
    }
    names[n] = NULL;
    near = ex_nearest(asked, names);
    if (near) return ex_usage(asked, "no such option; did you mean --%s?", near);
    return ex_usage(asked, "no such option; --help lists them");
}

static int argument(ex_program *p, const char *text)
{
    if (!p->arguments_name) return ex_usage(NULL, "'%.60s' is not an option; --help lists them", text);
    if (p->argument_count >= p->arguments_max) {
        return ex_usage(NULL, "'%.60s' is one too many: at most %d %s", text, (int)p->arguments_max,
                        p->arguments_name);
    }
    p->arguments[p->argument_count++] = text;
    return EX_GO_ON;
}

int ex_options_parse(ex_program *program, int argc, char **argv)
{
    bool options_over = false;
    int i, status = EX_GO_ON;

    program_name = program->name;
    program->argument_count = 0;
    for (i = 1; i < argc && status == EX_GO_ON; i++) {
        const char *text = argv[i], *value;
        ex_option *o;
        size_t length;
        if (!options_over && strcmp(text, "--") == 0) {
            options_over = true;
            continue;
        }
        if (options_over || text[0] != '-' || text[1] == '\0') {
            status = argument(program, text);
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            print_help(program);
            return EX_OK;
        }
        if (strcmp(text, "--version") == 0) {
            printf("%s (rllb %s)\n", program->name, RLLB_VERSION_STRING);
            return EX_OK;
        }
        if (text[1] != '-') return ex_usage(NULL, "'%.60s': options are written --name; --help lists them", text);
        text += 2;
        length = strcspn(text, "=");
        value = text[length] ? text + length + 1 : NULL;
        o = find(program, text, length);
        if (!o) return unknown(program, text, length);
        if (!value && o->kind != EX_KIND_FLAG) {
            if (i + 1 >= argc || strncmp(argv[i + 1], "--", 2) == 0) return ex_usage(o->name, "its value is missing");
            value = argv[++i];
        }
        status = set_value(o, value);
    }
    if (status == EX_GO_ON && program->arguments_name && program->argument_count < program->arguments_min) {
        return ex_usage(NULL, "%s is missing; --help says more", program->arguments_name);
    }
    return status;
}
