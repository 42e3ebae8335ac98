/* test_common.c - what the example programs stand on: options, terminal, files, writers, canvas, charts */

#define _DEFAULT_SOURCE
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "common.h"
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __has_include
#if __has_include("stb_image.h")
#define HAVE_PNG_READER
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include "stb_image.h"
#endif
#endif

/* ---- help for the tests ------------------------------------------------------------------------------------ */

/* Catches what is written to a stream's descriptor between begin and end. */
static int saved_fd = -1, caught_of = -1;
static FILE *caught_file;
static char caught[16384];

static void catch_begin(int fd)
{
    fflush(NULL);
    caught_of = fd;
    saved_fd = dup(fd);
    caught_file = tmpfile();
    dup2(fileno(caught_file), fd);
}

static const char *catch_end(void)
{
    size_t n;

    fflush(NULL);
    dup2(saved_fd, caught_of);
    close(saved_fd);
    rewind(caught_file);
    n = fread(caught, 1, sizeof caught - 1, caught_file);
    caught[n] = '\0';
    fclose(caught_file);
    return caught;
}

/* The caught text is exactly one line. */
static bool one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end && end > text && end[1] == '\0';
}

static char folder[64];

static const char *test_folder(void)
{
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "build/test/common.%ld", (long)getpid());
        if (!ex_folder_make(folder)) folder[0] = '\0';
    }
    return folder;
}

static int entries_of(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    int n = 0;

    if (!d) return -1;
    while ((e = readdir(d)) != NULL) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void empty_folder(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        ex_path p = ex_path_join(path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(p.text) != 0) rmdir(p.text);
    }
    if (d) closedir(d);
}

/* ---- options ----------------------------------------------------------------------------------------------- */

static const char *const algo_names[] = { "dqn", "dueling", "sac", NULL };
static const char *const traffic_names[] = { "low", "high", "bursty", NULL };

typedef struct settings {
    int32_t episodes, algo;
    int64_t steps;
    uint64_t seed;
    uint32_t traffic;
    float lr;
    double gamma;
    const char *out;
    bool quiet;
    ex_list sizes, rates;
    const char *files[2];
    int32_t file_count;
    bool seed_given, out_given;
} settings;

/* Parses words separated by blanks; the settings hold the defaults before and the outcome after. */
static int parse(settings *s, const char *words)
{
    static const settings defaults = { .episodes = 800, .seed = 1, .lr = 0.001f, .gamma = 0.95, .traffic = 1,
                                       .out = "out", .sizes = { 2, { 64, 64 } } };
    static char line[512];
    char *argv[32];
    int argc = 0, status;
    char *word;

    *s = defaults;
    {
        ex_option options[] = {
            EX_HEADING("Training"),
            EX_INT("episodes", &s->episodes, 1, 1000000, "N", "episodes to train"),
            EX_INT64("steps", &s->steps, 0, 1e15, "N", "steps"),
            EX_SEED("seed", &s->seed, "where random numbers start"),
            EX_FLOAT("lr", &s->lr, 1e-9, 1, "X", "learning rate"),
            EX_DOUBLE("gamma", &s->gamma, 0, 1, "X", "discount"),
            EX_CHOICE("algo", &s->algo, algo_names, "kind of network"),
            EX_CHOICES("traffic", &s->traffic, traffic_names, "kinds of traffic"),
            EX_INT_LIST("sizes", &s->sizes, 1, 4096, "N,...", "hidden layers"),
            EX_LIST("rates", &s->rates, 0, 0, "X,...", "processing rates"),
            EX_HEADING("Common"),
            EX_STRING("out", &s->out, "DIR", "folder"),
            EX_FLAG("quiet", &s->quiet, "no bar"),
        };
        ex_program program = { .name = "prog", .summary = "does a thing", .options = options,
                               .option_count = EX_COUNT(options), .arguments_name = "FILE...", .arguments_max = 2,
                               .arguments = s->files, .details = "More words." };
        argv[argc++] = line;
        snprintf(line, sizeof line, "prog %s", words);
        strtok(line, " ");
        while (argc < 31 && (word = strtok(NULL, " ")) != NULL) argv[argc++] = word;
        argv[argc] = NULL;
        status = ex_options_parse(&program, argc, argv);
        s->file_count = program.argument_count;
        s->seed_given = ex_option_given(&program, "seed");
        s->out_given = ex_option_given(&program, "out");
    }
    return status;
}

TEST(options_good)
{
    settings s;

    CHECK_EQ_I(parse(&s, ""), EX_GO_ON);
    CHECK_EQ_I(s.episodes, 800);
    CHECK(!s.seed_given);
    CHECK_EQ_I(parse(&s, "--episodes 12 --steps=1000000000000 --seed 18446744073709551615 --lr 1e-4 --gamma=.5 "
                         "--algo dueling --traffic low,bursty --sizes 8,16,32 --rates=-1.5,2e3 --quiet a --out=x=y b"),
               EX_GO_ON);
    CHECK_EQ_I(s.episodes, 12);
    CHECK_EQ_I(s.steps, 1000000000000);
    CHECK_EQ_U(s.seed, UINT64_MAX);
    CHECK_NEAR((double)s.lr, 1e-4, 1e-10);
    CHECK_NEAR(s.gamma, 0.5, 0);
    CHECK_EQ_I(s.algo, 1);
    CHECK_EQ_I(s.traffic, 5);
    CHECK_EQ_I(s.sizes.count, 3);
    CHECK_NEAR(s.sizes.values[2], 32, 0);
    CHECK_EQ_I(s.rates.count, 2);
    CHECK_NEAR(s.rates.values[0], -1.5, 0);
    CHECK(s.quiet);
    CHECK(s.seed_given);
    CHECK_STR(s.out, "x=y");
    REQUIRE(s.file_count == 2);
    CHECK_STR(s.files[0], "a");
    CHECK_STR(s.files[1], "b");
    CHECK_EQ_I(parse(&s, "--traffic all --quiet=no --seed 3 --seed 4 -- --a"), EX_GO_ON);
    CHECK_EQ_I(s.traffic, 7);
    CHECK(!s.quiet);
    CHECK_EQ_U(s.seed, 4);
    CHECK_STR(s.files[0], "--a");
}

TEST(options_bad)
{
    /* the command line, and what its one line must hold */
    static const char *const cases[][2] = {
        { "--epsiodes 3", "did you mean --episodes?" },
        { "--nonsense", "--nonsense: no such option; --help" },
        { "-e 3", "'-e': options are written --name" },
        { "--episodes", "--episodes: its value is missing" },
        { "--episodes --quiet", "--episodes: its value is missing" },
        { "--episodes=", "--episodes: its value is empty" },
        { "--episodes 0", "--episodes: 0 is out of range, must be 1 to 1000000" },
        { "--episodes 99999999999999999999", "out of range" },
        { "--episodes 12x", "--episodes: '12x' is not a number" },
        { "--episodes 1.5", "--episodes: '1.5' is not a whole number" },
        { "--episodes 0x10", "is not a number" },
        { "--seed -1", "--seed: '-1' is not a whole number from 0" },
        { "--seed 18446744073709551616", "--seed: " },
        { "--gamma nan", "--gamma: 'nan' is not a number" },
        { "--gamma inf", "--gamma: 'inf' is not a number" },
        { "--gamma 1e999", "--gamma: " },
        { "--gamma 1.01", "--gamma: 1.01 is out of range, must be 0 to 1" },
        { "--gamma 0x1p-1", "--gamma: " },
        { "--lr 0", "--lr: 0 is out of range" },
        { "--algo deling", "did you mean dueling? (one of: dqn, dueling, sac)" },
        { "--algo zzzzzz", "--algo: no 'zzzzzz' here; one of: dqn, dueling, sac" },
        { "--traffic low,hihg", "did you mean high?" },
        { "--sizes 8,,9", "--sizes: '' is not a whole number" },
        { "--sizes 8,0", "--sizes: 0 is out of range" },
        { "--sizes 8.5", "--sizes: '8.5' is not a whole number" },
        { "--rates 1,x", "--rates: 'x' is not a number" },
        { "--quiet=maybe", "--quiet: 'maybe' is neither yes nor no" },
        { "a b c", "'c' is one too many" },
        { "--alg\ao x", "--alg?o" },
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings s;
        int status;
        catch_begin(2);
        status = parse(&s, cases[i][0]);
        catch_end();
        NOTE("'%s' says: %s", cases[i][0], caught);
        CHECK_EQ_I(status, EX_USAGE);
        CHECK(one_line(caught));
        CHECK(strncmp(caught, "prog: ", 6) == 0);
        CHECK(strstr(caught, cases[i][1]) != NULL);
    }
}

typedef struct gathered {
    char text[64];
} gathered;

static int gather(void *self, const char *text)
{
    gathered *g = self;
    size_t used = strlen(g->text);

    if (strcmp(text, "no") == 0) return ex_usage("take", "not this one");
    snprintf(g->text + used, sizeof g->text - used, "%s;", text);
    return EX_GO_ON;
}

/* A function of the program's own takes each value, in order; what it says of one is the end. */
TEST(options_call)
{
    gathered g = { "" };
    ex_option options[] = { EX_CALL("take", gather, &g, "WHAT", "as often as you like") };
    ex_program program = { .name = "t", .summary = "s", .options = options, .option_count = 1 };
    char name[] = "t", take[] = "--take", one[] = "one two", two[] = "--take=3", no[] = "no", empty[] = "";
    char *good[] = { name, take, one, two, NULL }, *bad[] = { name, take, one, take, no, two, NULL };
    char *missing[] = { name, take, NULL }, *blank[] = { name, take, empty, NULL };

    CHECK_EQ_I(ex_options_parse(&program, 4, good), EX_GO_ON);
    CHECK_STR(g.text, "one two;3;");
    CHECK(ex_option_given(&program, "take"));
    g.text[0] = '\0';
    catch_begin(2);
    CHECK_EQ_I(ex_options_parse(&program, 6, bad), EX_USAGE);
    CHECK_STR(catch_end(), "t: --take: not this one\n");
    CHECK_STR(g.text, "one two;");
    catch_begin(2);
    CHECK_EQ_I(ex_options_parse(&program, 2, missing), EX_USAGE);
    CHECK_STR(catch_end(), "t: --take: its value is missing\n");
    catch_begin(2);
    CHECK_EQ_I(ex_options_parse(&program, 3, blank), EX_USAGE);
    CHECK_STR(catch_end(), "t: --take: its value is empty\n");
}

TEST(options_help)
{
    settings s;
    int status;
    const char *line, *end;

    catch_begin(1);
    status = parse(&s, "--help --nonsense");
    catch_end();
    CHECK_EQ_I(status, EX_OK);
    CHECK(strstr(caught, "prog - does a thing\n") == caught);
    CHECK(strstr(caught, "Usage: prog [options] FILE...") != NULL);
    CHECK(strstr(caught, "[800]") != NULL);
    CHECK(strstr(caught, "kind of network: dqn, dueling, sac [dqn]") != NULL);
    CHECK(strstr(caught, "[64,64]") != NULL);
    CHECK(strstr(caught, "More words.\n") != NULL);
    for (line = caught; (end = strchr(line, '\n')) != NULL; line = end + 1) CHECK(end - line <= 100);
    catch_begin(1);
    status = parse(&s, "--version");
    CHECK(strncmp(catch_end(), "prog (rllb ", 11) == 0);
    CHECK_EQ_I(status, EX_OK);
}

TEST(numbers_are_read_strictly)
{
    static const char *const bad[] = { "", " 1", "1 ", "--1", "+-1", "e5", ".", "1e", "0x1", "nan", "infinity", "1,5" };
    double d = 7;
    int64_t i = 7;
    size_t k;

    for (k = 0; k < sizeof bad / sizeof *bad; k++) {
        NOTE("'%s'", bad[k]);
        CHECK(!ex_parse_double(bad[k], &d));
        CHECK(!ex_parse_int64(bad[k], &i));
    }
    CHECK_NEAR(d, 7, 0);
    CHECK(ex_parse_int64("-9223372036854775808", &i) && i == INT64_MIN);
    CHECK(!ex_parse_int64("9223372036854775808", &i));
    CHECK(ex_parse_double("-.5e-3", &d));
    CHECK_NEAR(d, -0.0005, 0);
}

/* ---- terminal ---------------------------------------------------------------------------------------------- */

TEST(table_lines_up)
{
    ex_table t = { 0 };
    char text[512];
    FILE *f = tmpfile();
    size_t n;

    ex_table_cell(&t, "policy");
    ex_table_cell(&t, "return");
    ex_table_cell(&t, "±");
    ex_table_row(&t);
    ex_table_cell(&t, "least load");
    ex_table_cell(&t, "%d", -446);
    ex_table_cell(&t, "%.1f", 3.5);
    ex_table_row(&t);
    ex_table_rule(&t);
    ex_table_cell(&t, "random");
    ex_table_cell(&t, "%d", -3120);
    ex_table_cell(&t, "%.1f", 12.25);
    ex_table_row(&t);
    ex_table_print(&t, f);
    rewind(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    ex_table_free(&t);
    CHECK_STR(text, "policy      return     ±\n"
                    "------------------------\n"
                    "least load    -446   3.5\n"
                    "------------------------\n"
                    "random       -3120  12.2\n");
}

TEST(progress_keeps_to_stderr)
{
    ex_progress bar;
    char text[32];
    int64_t i;

    catch_begin(2);
    ex_progress_start(&bar, "work", 1000, false);
    for (i = 0; i <= 1000; i++) ex_progress_step(&bar, i, "at %d", (int)i);
    ex_progress_end(&bar, "did %d", 1000);
    catch_end();
    CHECK(one_line(caught)); /* no terminal, under five seconds: only the last line */
    CHECK(strncmp(caught, "did 1000 in ", 12) == 0);
    catch_begin(2);
    ex_progress_start(&bar, "work", 0, false);
    bar.tty = true; /* as on a terminal; a total of 0 must not divide */
    bar.shown_s -= 1;
    ex_progress_step(&bar, 5, "return %.0f", -431.0);
    ex_progress_end(&bar, NULL);
    catch_end();
    CHECK(strstr(caught, "return -431") != NULL);
    CHECK(strchr(caught, '\n') == NULL);
    catch_begin(2);
    ex_progress_start(&bar, "work", 10, true);
    for (i = 0; i <= 10; i++) ex_progress_step(&bar, i, NULL);
    ex_progress_end(&bar, "quiet");
    CHECK_STR(catch_end(), "");
    CHECK_STR(ex_duration(0.25, text), "0.2 s");
    CHECK_STR(ex_duration(185, text), "3 min 05 s");
    CHECK_STR(ex_duration(7800, text), "2 h 10 min");
    CHECK_STR(ex_duration((double)INFINITY, text), "over 1000 h");
}

TEST(first_interrupt_only_raises_a_flag)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        ex_catch_interrupts();
        if (ex_interrupted()) _exit(1);
        raise(SIGINT);
        if (!ex_interrupted() || ex_interrupt_status() != 128 + SIGINT) _exit(2);
        raise(SIGINT);
        _exit(3);
    }
    REQUIRE(child > 0);
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

/* ---- files ------------------------------------------------------------------------------------------------- */

TEST(files_come_back_as_written)
{
    ex_path path = ex_path_join(test_folder(), "a.bin");
    ex_text text = { 0 }, back = { 0 };
    int i;

    for (i = 0; i < 50000; i++) ex_text_printf(&text, "%d,", i);
    ex_text_add(&text, "\0\xFF", 2);
    REQUIRE(ex_text_write(&text, path.text));
    REQUIRE(ex_file_read(path.text, text.size, &back));
    REQUIRE(back.size == text.size);
    CHECK_MEM(back.data, text.data, text.size);
    ex_text_free(&back);
    catch_begin(2);
    CHECK(!ex_file_read(path.text, text.size - 1, &back));
    CHECK(one_line(catch_end()) && strstr(caught, "larger than") && strstr(caught, path.text));
    CHECK(back.data == NULL);
    CHECK(ex_file_write(path.text, NULL, 0)); /* an empty file is a file */
    CHECK(ex_file_read(path.text, 10, &back));
    CHECK_EQ_I(back.size, 0);
    ex_text_free(&back);
    CHECK_EQ_I(entries_of(folder), 1);
    ex_text_free(&text);
    empty_folder(folder);
}

TEST(failed_writes_leave_nothing)
{
    char inside[80], block[65536];
    ex_text broken = { 0 };
    int status = 0;
    pid_t child;

    snprintf(inside, sizeof inside, "%s/no/such/file", test_folder());
    catch_begin(2);
    CHECK(!ex_file_write(inside, "x", 1));
    CHECK(one_line(catch_end()) && strstr(caught, inside));
    catch_begin(2);
    CHECK(!ex_file_write(folder, "x", 1));
    CHECK(one_line(catch_end()) && strstr(caught, "it is a folder"));
    catch_begin(2);
    CHECK(!ex_file_write("", "x", 1));
    CHECK(one_line(catch_end()));
    broken.failed = true;
    snprintf(inside, sizeof inside, "%s/t", folder);
    catch_begin(2);
    CHECK(!ex_text_write(&broken, inside));
    CHECK(one_line(catch_end()));
    CHECK_EQ_I(entries_of(folder), 0);

    /* a full disk, as far as a process can make one for itself */
    memset(block, 'x', sizeof block);
    REQUIRE(ex_file_write(inside, "old", 3));
    catch_begin(2);
    child = fork();
    if (child == 0) {
        struct rlimit limit = { 1000, 1000 };
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(ex_file_write(inside, block, sizeof block) ? 1 : 0);
    }
    waitpid(child, &status, 0);
    catch_end();
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(one_line(caught) && strstr(caught, inside));
    CHECK_EQ_I(entries_of(folder), 1);
    {
        ex_text back = { 0 };
        CHECK(ex_file_read(inside, 100, &back));
        CHECK_STR(back.data, "old");
        ex_text_free(&back);
    }
    empty_folder(folder);
}

/* A program that does nothing but write is ended at moments of all kinds. */
TEST(killed_writers_leave_nothing)
{
    ex_path path = ex_path_join(test_folder(), "k");
    char block[40000];
    int round;

    for (round = 0; round < 12; round++) {
        struct timespec pause = { 0, 3000000L + round * 1700000L };
        int status, i;
        pid_t child = fork();
        if (child == 0) {
            for (i = 0;; i++) {
                memset(block, 'a' + i % 26, sizeof block);
                if (!ex_file_write(path.text, block, sizeof block)) _exit(1);
            }
        }
        REQUIRE(child > 0);
        nanosleep(&pause, NULL);
        kill(child, round % 2 ? SIGINT : SIGTERM);
        waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status));
        CHECK(entries_of(folder) <= 1);
        if (access(path.text, R_OK) == 0) {
            ex_text back = { 0 };
            CHECK(ex_file_read(path.text, 1 << 20, &back));
            CHECK_EQ_I(back.size, sizeof block);
            CHECK(back.size > 0 && back.data[0] == back.data[back.size - 1]);
            ex_text_free(&back);
        }
    }
    empty_folder(folder);
}

TEST(folders_and_their_lock)
{
    ex_path deep = ex_path_join(test_folder(), "a//b/"), file = ex_path_join(folder, "file"), long_path;
    char name[2000];
    ex_lock lock, second;

    CHECK(ex_folder_make(deep.text));
    CHECK(ex_folder_make(deep.text));
    REQUIRE(ex_folder_lock(deep.text, &lock));
    catch_begin(2);
    CHECK(!ex_folder_lock(deep.text, &second));
    CHECK(one_line(catch_end()) && strstr(caught, "another program") && strstr(caught, deep.text));
    CHECK_EQ_I(second.fd, -1);
    ex_folder_unlock(&lock);
    CHECK(ex_folder_lock(deep.text, &second));
    ex_folder_unlock(&second);
    ex_folder_unlock(&second);
    CHECK_EQ_I(entries_of(deep.text), 0);
    CHECK(ex_file_write(file.text, "x", 1));
    catch_begin(2);
    CHECK(!ex_folder_make(file.text));
    CHECK(one_line(catch_end()) && strstr(caught, file.text));
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    long_path = ex_path_join(folder, name);
    CHECK_STR(long_path.text, "");
    catch_begin(2);
    CHECK(!ex_folder_make(name));
    CHECK(one_line(catch_end()));
    rmdir(deep.text);
    empty_folder(folder);
    CHECK_STR(ex_path_join("a/", "b").text, "a/b");
    CHECK_STR(ex_path_join("", "b").text, "b");
}

/* ---- writers ----------------------------------------------------------------------------------------------- */

TEST(numbers_read_back)
{
    static const double values[] = { 0, 0.1, 1.0 / 3, -446, 1e30, 5e-324, 1.7976931348623157e308, 123456789.125, 1e-7 };
    char text[32];
    size_t i;

    for (i = 0; i < sizeof values / sizeof *values; i++) {
        float narrow = (float)fmin(values[i], 1e38);
        CHECK_NEAR(strtod(ex_number_double(values[i], text), NULL), values[i], 0);
        CHECK_NEAR((double)strtof(ex_number_float(narrow, text), NULL), (double)narrow, 0);
    }
    CHECK_STR(ex_number_double(0.1, text), "0.1");
    CHECK_STR(ex_number_float(0.1f, text), "0.1");
    CHECK_STR(ex_number_double((double)NAN, text), "nan");
    CHECK_STR(ex_number_double(-(double)INFINITY, text), "-inf");
}

TEST(csv_bytes)
{
    ex_text text = { 0 };
    ex_csv csv = { &text, false };

    ex_csv_header(&csv, "episode,return,policy");
    ex_csv_int(&csv, -1);
    ex_csv_double(&csv, -0.25);
    ex_csv_string(&csv, "plain");
    ex_csv_row(&csv);
    ex_csv_int(&csv, INT64_MAX);
    ex_csv_float(&csv, NAN);
    ex_csv_string(&csv, "a \"quoted\", name\n");
    ex_csv_row(&csv);
    CHECK_STR(text.data, "episode,return,policy\n-1,-0.25,plain\n"
                         "9223372036854775807,nan,\"a \"\"quoted\"\", name\n\"\n");
    ex_text_free(&text);
}

TEST(json_bytes)
{
    ex_text text = { 0 }, back = { 0 };
    ex_json j = { .to = &text };
    ex_path path = ex_path_join(test_folder(), "r.json");

    ex_json_object(&j, NULL);
    ex_json_string(&j, "name", "a\"\\\n\t\x01\xC3\xA9\xFF\xC0\x80");
    ex_json_uint(&j, "seed", UINT64_MAX);
    ex_json_array(&j, "results");
    ex_json_row(&j, NULL);
    ex_json_string(&j, "policy", "least load");
    ex_json_double(&j, "mean", -446.5);
    ex_json_row_array(&j, "ci");
    ex_json_double(&j, NULL, (double)NAN);
    ex_json_float(&j, NULL, INFINITY);
    ex_json_end(&j);
    ex_json_end(&j);
    ex_json_int(&j, NULL, -3);
    ex_json_end(&j);
    ex_json_object(&j, "empty");
    ex_json_end(&j);
    ex_json_bool(&j, "ok", true);
    ex_json_string(&j, "none", NULL);
    ex_json_end(&j);
    REQUIRE(ex_json_write(&j, path.text));
    REQUIRE(ex_file_read(path.text, 10000, &back));
    CHECK_STR(back.data, "{\n"
                         "  \"name\": \"a\\\"\\\\\\n\\t\\u0001\xC3\xA9\\ufffd\\ufffd\\ufffd\",\n"
                         "  \"seed\": 18446744073709551615,\n"
                         "  \"results\": [\n"
                         "    {\"policy\": \"least load\", \"mean\": -446.5, \"ci\": [null, null]},\n"
                         "    -3\n"
                         "  ],\n"
                         "  \"empty\": {},\n"
                         "  \"ok\": true,\n"
                         "  \"none\": null\n"
                         "}\n");
    ex_text_free(&text);
    ex_text_free(&back);
    empty_folder(folder);
}

TEST(json_refuses_wrong_nesting)
{
    int kind;

    for (kind = 0; kind < 5; kind++) {
        ex_text text = { 0 };
        ex_json j = { .to = &text };
        int i;
        if (kind == 1) ex_json_end(&j);
        if (kind != 1) ex_json_object(&j, NULL);
        if (kind == 2) ex_json_int(&j, NULL, 1); /* no key */
        if (kind == 3) ex_json_end(&j);
        if (kind == 3) ex_json_int(&j, NULL, 1); /* a second outermost value */
        for (i = 0; kind == 4 && i < 2 * EX_JSON_DEPTH; i++) ex_json_object(&j, "deep");
        for (i = 0; kind == 4 && i <= 2 * EX_JSON_DEPTH; i++) ex_json_end(&j);
        if (kind == 2) ex_json_end(&j);
        catch_begin(2); /* kind 0: not closed */
        CHECK(!ex_json_write(&j, "never.json"));
        CHECK(one_line(catch_end()));
        ex_text_free(&text);
    }
    CHECK(access("never.json", F_OK) != 0);
}

/* ---- canvas ------------------------------------------------------------------------------------------------ */

/* Sum of darkness (0 white, 1 black per pixel) over a rectangle. */
static double ink(const ex_canvas *c, int32_t x0, int32_t y0, int32_t x1, int32_t y1)
{
    double sum = 0;
    int32_t x, y;

    for (y = y0; y < y1; y++) {
        for (x = x0; x < x1; x++) sum += 1 - c->rgb[3 * (y * c->width + x)] / 255.0;
    }
    return sum;
}

TEST(shapes_cover_their_area)
{
    ex_point triangle[3] = { { 10.3, 5.1 }, { 70.9, 20.4 }, { 25.2, 61.7 } };
    ex_rect r = { 3.25, 4.5, 20.5, 10.25 };
    double area;
    ex_canvas c;

    REQUIRE(ex_canvas_create(&c, 80, 70));
    ex_draw_rect(&c, r, EX_RGB(0));
    CHECK_NEAR(ink(&c, 0, 0, 80, 70), 20.5 * 10.25, 1);
    ex_canvas_clear(&c, EX_WHITE);
    ex_draw_polygon(&c, triangle, 3, EX_RGB(0));
    area = 0.5 * ((70.9 - 10.3) * (61.7 - 5.1) - (25.2 - 10.3) * (20.4 - 5.1));
    CHECK_REL(ink(&c, 0, 0, 80, 70), area, 0.003);
    ex_canvas_clear(&c, EX_WHITE);
    ex_draw_circle(&c, 40, 35, 20, EX_RGB(0));
    CHECK_REL(ink(&c, 0, 0, 80, 70), 3.14159265 * 400, 0.01);
    ex_canvas_clear(&c, EX_WHITE);
    ex_draw_line(&c, 10, 10.5, 70, 60.5, 4, EX_RGB(0));
    CHECK_REL(ink(&c, 0, 0, 80, 70), 4 * hypot(60, 50) + 3.14159265 * 4, 0.02);
    ex_canvas_clear(&c, EX_WHITE);
    ex_draw_round_rect(&c, r, 3, EX_RGB(0));
    CHECK_REL(ink(&c, 0, 0, 80, 70), 20.5 * 10.25 - (4 - 3.14159265) * 9, 0.01);
    ex_canvas_free(&c);
}

TEST(nothing_leaves_the_clip)
{
    static const double wild[] = { -1e300, -1e30, -5e4, -3, 0, 37.5, 64, 1e3, 1e9, 1e300 };
    enum { N = (int)(sizeof wild / sizeof *wild) };
    ex_point p[5];
    ex_canvas c;
    int i, k;

    REQUIRE(ex_canvas_create(&c, 64, 48));
    c.clip.x = 8;
    c.clip.y = 6;
    c.clip.width = 40;
    c.clip.height = 30;
    for (i = 0; i < N * N; i++) {
        ex_rect r = { wild[i % N], wild[i / N], wild[(i * 7 + 3) % N], wild[(i * 3 + 1) % N] };
        for (k = 0; k < 5; k++) {
            p[k].x = wild[(i * (k + 1) + k) % N];
            p[k].y = wild[(i / N * (k + 3) + k * k) % N];
        }
        ex_draw_polygon(&c, p, 5, ex_alpha(EX_INK, 0.1));
        ex_draw_polyline(&c, p, 5, 1 + i % 40, (ex_dash)(i % EX_DASH_NUM), ex_alpha(EX_INK, 0.1));
        ex_draw_rect(&c, r, ex_palette(i));
        ex_draw_round_rect(&c, r, 4, ex_palette(i));
        ex_draw_frame(&c, r, 2, ex_palette(i));
        ex_draw_circle(&c, r.x, r.y, fabs(r.width), ex_palette(i));
        ex_draw_marker(&c, (ex_marker)(i % EX_MARKER_NUM), r.x, r.y, 9, ex_palette(i));
        ex_draw_text(&c, r.x, r.y, 14, EX_BOLD, i % 12, EX_INK, "out of sight");
        ex_draw_text_turned(&c, r.x, r.y, 300, EX_BOLD, i % 12, 33, EX_INK, "Ag");
    }
    p[0].x = (double)NAN;
    p[1].y = (double)INFINITY;
    ex_draw_polygon(&c, p, 5, EX_INK);
    ex_draw_polyline(&c, p, 5, 3, EX_DASHED, EX_INK);
    ex_draw_polyline(&c, p, 5, (double)NAN, EX_SOLID, EX_INK);
    ex_draw_circle(&c, (double)NAN, 3, 3, EX_INK);
    ex_draw_text(&c, 3, 3, (double)NAN, EX_REGULAR, 0, EX_INK, "x");
    CHECK_NEAR(ink(&c, 0, 0, 64, 6) + ink(&c, 0, 36, 64, 48) + ink(&c, 0, 0, 8, 48) + ink(&c, 48, 0, 64, 48), 0, 0);
    CHECK(ink(&c, 8, 6, 48, 36) > 10);
    for (i = 0, k = 0; i < 66 * 48; i++) k += c.cover[i] < 0 || c.cover[i] > 0;
    CHECK_EQ_I(k, 0); /* every shape cleans up behind itself */
    ex_canvas_free(&c);
    catch_begin(2);
    CHECK(!ex_canvas_create(&c, 0, 5));
    CHECK(!ex_canvas_create(&c, 5, 100000));
    catch_end();
}

TEST(letters_fit_their_width)
{
    int code, k;
    ex_canvas c;

    REQUIRE(ex_canvas_create(&c, 120, 120));
    for (code = 33; code < 127; code++) {
        char text[2] = { (char)code, '\0' };
        double total;
        for (k = 0; k < 2; k++) {
            double wide = ex_text_width(40, (ex_weight)k, text);
            NOTE("'%s' is %.1f wide", text, wide);
            CHECK(wide > 4 && wide < 44);
            ex_canvas_clear(&c, EX_WHITE);
            ex_draw_text(&c, 30, 60, 40, (ex_weight)k, 0, EX_RGB(0), text);
            total = ink(&c, 0, 0, 120, 120);
            CHECK(total > 12);
            CHECK_NEAR(ink(&c, 28, 18, 30 + (int)ceil(wide) + 2, 76), total, 0.01);
        }
    }
    CHECK_NEAR(ex_text_width(16, EX_REGULAR, "0000"), ex_text_width(16, EX_REGULAR, "1234"), 1e-9);
    CHECK(ex_text_width(16, EX_BOLD, "load") > ex_text_width(16, EX_REGULAR, "load"));
    CHECK_NEAR(ex_text_width(16, EX_REGULAR, "wide line\nx"), ex_text_width(16, EX_REGULAR, "wide line"), 1e-9);
    CHECK(ex_text_width(16, EX_REGULAR, "-5") > ex_text_width(16, EX_REGULAR, "a-5") -
                                                    ex_text_width(16, EX_REGULAR, "a")); /* a minus, a hyphen */
    CHECK(ex_text_width(16, EX_REGULAR, "\xFF\xC3") > 0);
    CHECK_NEAR(ex_text_width(16, EX_REGULAR, ""), 0, 0);
    ex_canvas_free(&c);
}

TEST(text_wraps_at_blanks)
{
    char text[64] = "shortest expected delay", word[64] = "indivisible";
    double room = ex_text_width(16, EX_REGULAR, "shortest expected") + 1;

    CHECK_EQ_I(ex_text_wrap(16, EX_REGULAR, room, text), 2);
    CHECK_STR(text, "shortest expected\ndelay");
    CHECK_EQ_I(ex_text_wrap(16, EX_REGULAR, 5, word), 1);
    CHECK_STR(word, "indivisible");
}

/* ---- charts ------------------------------------------------------------------------------------------------ */

TEST(ticks_are_nice_and_inside)
{
    double t[EX_TICKS_MAX], step;
    char text[32];
    int32_t i, n, k;

    n = ex_ticks(-2525, -200, 5, false, t, &step);
    CHECK_EQ_I(n, 5);
    CHECK_NEAR(step, 500, 0);
    CHECK_NEAR(t[0], -2500, 0);
    CHECK_NEAR(t[4], -500, 0);
    n = ex_ticks(0, 1, 5, false, t, &step);
    CHECK_EQ_I(n, 6);
    CHECK_STR(ex_tick_text(t[3], step, text), "0.6");
    CHECK_EQ_I(ex_ticks(0, 2, 8, true, t, &step), 3);
    CHECK_EQ_I(ex_ticks(1, 1, 5, false, t, &step), 0);
    CHECK_EQ_I(ex_ticks(0, (double)INFINITY, 5, false, t, &step), 0);
    CHECK_EQ_I(ex_ticks((double)NAN, 1, 5, false, t, &step), 0);
    CHECK_STR(ex_tick_text(-1234567, 100, text), "-1,234,567");
    CHECK_STR(ex_tick_text(0.25, 0.05, text), "0.25");
    CHECK_STR(ex_tick_text(3e30, 1e30, text), "3e+30");
    for (k = -60; k < 60; k++) {
        double low = -pow(10, k) * 0.37, high = pow(10, k) * 2.41;
        n = ex_ticks(low, high, 6, false, t, &step);
        CHECK(n >= 3 && n <= 12);
        for (i = 0; i < n; i++) CHECK(t[i] >= low - 1e-6 * step && t[i] <= high + 1e-6 * step);
    }
}

static const char *const long_names[] = {
    "a", "", "a name that is far longer than any bar could ever be wide, so that something must give",
    "Donaudampfschifffahrtsgesellschaft", NULL, "% \"\n", "x", "y",
};

/* Data that real programs produce when something went wrong. */
static void nonsense(int kind, double *v, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        switch (kind) {
        case 0: v[i] = (double)NAN; break;
        case 1: v[i] = 5; break;
        case 2: v[i] = 0; break;
        case 3: v[i] = i % 2 ? 1e30 : -1e30; break;
        case 4: v[i] = i % 3 ? (double)INFINITY : 1; break;
        case 5: v[i] = i % 2 ? 1e308 : -1e308; break;
        case 6: v[i] = 1e15 + i; break;
        case 7: v[i] = 5e-324 * i; break;
        case 8: v[i] = i % 2 ? (double)NAN : i; break;
        case 9: v[i] = -i * 1e-12; break;
        default: v[i] = sin(i * 0.7) * pow(10, i % 7); break;
        }
    }
}

TEST(charts_survive_nonsense)
{
    static double v[64], w[64];
    static const int counts[] = { 0, 1, 2, 8, 64 };
    const double *columns[8];
    int32_t lengths[8];
    int kind, size, variant, drawn = 0;
    ex_canvas c;

    REQUIRE(ex_canvas_create(&c, 420, 260));
    for (kind = 0; kind < 11; kind++) {
        nonsense(kind, v, 64);
        nonsense((kind + 3) % 11, w, 64);
        for (size = 0; size < 5; size++) {
            for (variant = 0; variant < 2; variant++) {
                int n = counts[size], i, per = n / 8;
                ex_rect area = { 0, 0, variant ? 420 : 30 + 40.0 * size, variant ? 260 : 20 + 30.0 * size };
                ex_reference refs[2] = { { .label = long_names[2], .y = w[0] }, { .label = "b", .y = w[1] } };
                ex_series s[2] = { { .name = long_names[2], .y = v, .low = w, .high = v, .count = n,
                                     .marker = EX_CIRCLE, .dash = EX_DOTTED },
                                   { .name = "b", .x = w, .y = v, .count = n, .points = variant == 1 } };
                ex_line_chart line = { .title = long_names[2], .subtitle = long_names[3], .note = long_names[2],
                                       .series = s, .series_count = 2, .references = refs, .reference_count = 2 };
                ex_bar_chart bars = { .title = "t", .categories = long_names, .category_count = n < 8 ? n : 8,
                                      .groups = long_names, .group_count = n < 8 ? 1 : 8, .values = v, .errors = w,
                                      .value_format = variant ? NULL : "%s%n", .references = refs,
                                      .reference_count = 2 };
                ex_heat_map heat = { .title = "t", .columns = variant ? long_names : NULL, .row_count = n < 8 ? 1 : 8,
                                     .column_count = n < 8 ? n : n / 8, .values = v, .value_label = long_names[2] };
                ex_box_chart box = { .title = "t", .categories = long_names, .values = columns, .counts = lengths,
                                     .category_count = n < 8 ? n : 8 };
                for (i = 0; i < 8; i++) {
                    columns[i] = v + i * per;
                    lengths[i] = per;
                }
                line.y.logarithmic = bars.y.logarithmic = box.y.logarithmic = line.x.logarithmic = variant == 1;
                ex_canvas_clear(&c, EX_WHITE);
                ex_line_chart_draw(&line, &c, area);
                ex_bar_chart_draw(&bars, &c, area);
                ex_heat_map_draw(&heat, &c, area);
                ex_box_chart_draw(&box, &c, area);
                drawn++;
                CHECK(ink(&c, 0, 0, 420, 260) > 0);
            }
        }
    }
    NOTE("%d kinds of nonsense drawn", drawn);
    ex_canvas_free(&c);
}

/* Nothing may touch the outermost pixels: what is cut off would. */
TEST(nothing_is_cut_off)
{
    static double v[24], e[24];
    int i, k;

    for (i = 0; i < 24; i++) {
        v[i] = -100 - 140.0 * i;
        e[i] = 40;
    }
    for (k = 0; k < 6; k++) {
        int32_t width = k % 2 ? 500 : 1200, height = k % 2 ? 320 : 720;
        ex_rect area = { 0, 0, width, height };
        ex_reference ref = { .label = "least load -446 and more words", .y = -446 };
        ex_series s = { .name = "return", .y = v, .count = 24 };
        ex_line_chart line = { .title = "A title", .note = "A note", .x = { .label = "x" }, .y = { .label = "y" },
                               .series = &s, .series_count = 1, .references = &ref, .reference_count = 1 };
        ex_bar_chart bars = { .title = "A title", .categories = long_names + k / 2 + k % 2, .category_count = 5,
                              .groups = long_names, .group_count = 3, .values = v, .errors = e };
        ex_heat_map heat = { .title = "A title", .row_count = 4, .column_count = 6, .values = v, .rows = long_names };
        ex_canvas c;
        REQUIRE(ex_canvas_create(&c, width, height));
        if (k / 2 == 0) ex_line_chart_draw(&line, &c, area);
        if (k / 2 == 1) ex_bar_chart_draw(&bars, &c, area);
        if (k / 2 == 2) ex_heat_map_draw(&heat, &c, area);
        NOTE("chart %d at %d x %d", k / 2, (int)width, (int)height);
        CHECK(ink(&c, 0, 0, width, height) > 100);
        CHECK_NEAR(ink(&c, 0, 0, width, 3) + ink(&c, 0, height - 3, width, height) + ink(&c, 0, 0, 3, height) +
                       ink(&c, width - 3, 0, width, height),
                   0, 1e-9);
        ex_canvas_free(&c);
    }
}

/* 100,000 points must look like the few hundred that a screen has room for: the extremes stay. */
TEST(thinning_keeps_the_extremes)
{
    enum { N = 100000 };
    double *y = calloc(N, sizeof *y), started_s = ex_clock_s();
    ex_series s = { .y = y, .count = N, .color = EX_RGB(0) };
    ex_line_chart chart = { .series = &s, .series_count = 1, .y = { .low = -1, .high = 2 } };
    ex_rect area = { 0, 0, 600, 400 };
    ex_canvas c, flat;

    REQUIRE(y != NULL);
    REQUIRE(ex_canvas_create(&c, 600, 400));
    REQUIRE(ex_canvas_create(&flat, 600, 400));
    ex_line_chart_draw(&chart, &flat, area);
    y[N / 2] = 1.9; /* one point out of 100,000 */
    ex_line_chart_draw(&chart, &c, area);
    CHECK(ink(&c, 0, 0, 600, 400) > ink(&flat, 0, 0, 600, 400) + 100);
    NOTE("two charts of 100,000 points in %.3f s", ex_clock_s() - started_s);
    ex_canvas_free(&c);
    ex_canvas_free(&flat);
    free(y);
}

TEST(pictures_are_png_and_repeat)
{
    static double v[6] = { 1, 2, 3, 2, 4, 3 };
    ex_series s = { .name = "a", .y = v, .count = 6 };
    ex_line_chart line = { .title = "Line", .series = &s, .series_count = 1 };
    ex_bar_chart bars = { .title = "Bars", .values = v, .category_count = 6 };
    ex_panel panels[3] = { { .line = &line }, { .bar = &bars }, { .draw = NULL } };
    ex_figure figure = { .title = "Both", .panels = panels, .panel_count = 3 };
    ex_path one = ex_path_join(test_folder(), "1.png"), two = ex_path_join(folder, "2.png");
    ex_text a = { 0 }, b = { 0 };

    REQUIRE(ex_figure_write(&figure, 0, 0, one.text));
    REQUIRE(ex_figure_write(&figure, 0, 0, two.text));
    REQUIRE(ex_file_read(one.text, 1 << 24, &a));
    REQUIRE(ex_file_read(two.text, 1 << 24, &b));
    REQUIRE(a.size == b.size);
    CHECK_MEM(a.data, b.data, a.size);
    CHECK_MEM(a.data, "\x89PNG\r\n\x1a\n", 8);
#ifdef HAVE_PNG_READER
    {
        int width = 0, height = 0, parts = 0, i, colored = 0;
        const unsigned char *bytes = (const unsigned char *)a.data;
        unsigned char *rgb = stbi_load_from_memory(bytes, (int)a.size, &width, &height, &parts, 3);
        REQUIRE(rgb != NULL);
        CHECK_EQ_I(width, EX_PLOT_WIDTH);
        CHECK_EQ_I(height, EX_PLOT_HEIGHT);
        CHECK_EQ_I(parts, 3);
        for (i = 0; i < width * height; i++) colored += rgb[3 * i] == 0x00 && rgb[3 * i + 1] == 0x72;
        CHECK(colored > 2000);
        free(rgb);
    }
#endif
    ex_text_free(&a);
    ex_text_free(&b);
    catch_begin(2);
    CHECK(!ex_line_chart_write(&line, 0, 0, "no/such/folder/x.png"));
    CHECK(one_line(catch_end()) && strstr(caught, "no/such/folder/x.png"));
    empty_folder(folder);
    CHECK_EQ_I(rmdir(folder), 0);
    folder[0] = '\0';
}
