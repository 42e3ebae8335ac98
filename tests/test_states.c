/* test_states.c - what was learned, in a file: it goes on where it fits, and nowhere else */

#define _DEFAULT_SOURCE
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "states.h"
#include "rllb.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SERVERS = 5, BLOCK = 1003, MORE = 17 };

static char names[SERVERS][200];
static uint64_t block[BLOCK / 8 + 1];
static char more[MORE];

static const char *path(void)
{
    static char text[100];

    snprintf(text, sizeof text, "build/test/states-%ld", (long)getpid());
    mkdir("build", 0777);
    mkdir("build/test", 0777);
    return text;
}

static ex_state state(void)
{
    ex_state s;
    int i;

    memset(&s, 0, sizeof s);
    memset(names, 0, sizeof names);
    for (i = 0; i < SERVERS; i++) memset(names[i], 'a' + i, (size_t)(40 * i)); /* the last ones are cut */
    for (i = 0; i < BLOCK; i++) ((unsigned char *)block)[i] = (unsigned char)(i * 7);
    memset(more, 'm', sizeof more);
    strcpy(s.program, "test");
    strcpy(s.policy, "sed");
    strcpy(s.site, "here");
    s.form = 77;
    s.turn = 3;
    s.capacity = SERVERS;
    s.clock_s = -12.5;
    s.names = names[0];
    s.stride = sizeof names[0];
    s.block = block;
    s.block_bytes = BLOCK;
    s.more = more;
    s.more_bytes = MORE;
    return s;
}

static void *packed(size_t *size)
{
    ex_state s = state();

    return ex_state_pack(&s, size);
}

/* The fault of those bytes for one who wants s; "none" where they are read. */
static const char *fault_of(const void *bytes, size_t size, const ex_state *s)
{
    ex_text file = { NULL, 0, 0, false };
    const char *fault = NULL;
    ex_state out;
    bool ok;

    if (bytes && ex_state_write(path(), bytes, size) != 0) return "not written";
    ok = ex_state_read(path(), s, &file, &out, &fault);
    if (!ok && file.data) return "left memory";
    ex_text_free(&file);
    return ok ? "none" : fault ? fault : "no file";
}

TEST(what_is_written_is_read)
{
    ex_text file = { NULL, 0, 0, false };
    ex_state s = state(), out;
    const char *fault = "unset";
    size_t size;
    void *bytes = ex_state_pack(&s, &size);
    struct stat about;
    int i;

    REQUIRE(bytes != NULL);
    remove(path());
    CHECK(!ex_state_read(path(), &s, &file, &out, &fault) && fault == NULL);
    REQUIRE(ex_state_write(path(), bytes, size) == 0);
    REQUIRE(stat(path(), &about) == 0);
    CHECK_EQ_I(about.st_mode & 0777, 0600);
    REQUIRE(ex_state_read(path(), &s, &file, &out, &fault));
    CHECK(fault == NULL);
    CHECK_EQ_I(out.capacity, SERVERS);
    CHECK_EQ_U(out.turn, 3);
    CHECK_NEAR(out.clock_s, -12.5, 0);
    for (i = 0; i < SERVERS; i++) {
        const char *name = out.names + (size_t)i * out.stride;
        CHECK_EQ_U(strlen(name), i < 4 ? (size_t)(40 * i) : EX_STATE_NAME_MOST - 1);
        CHECK(strncmp(name, names[i], EX_STATE_NAME_MOST - 1) == 0);
    }
    REQUIRE(out.block_bytes == BLOCK && out.more_bytes == MORE);
    CHECK_MEM(out.block, block, BLOCK);
    CHECK_MEM(out.more, more, MORE);
    ex_text_free(&file);
    free(bytes);
    remove(path());
}

TEST(any_damage_is_seen)
{
    size_t size, i;
    char *bytes = packed(&size);
    ex_state s = state();

    REQUIRE(bytes != NULL);
    CHECK_STR(fault_of(bytes, size, &s), "none");
    for (i = 0; i < size; i++) {
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
        CHECK(strcmp(fault_of(bytes, size, &s), "none") != 0);
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
    }
    for (i = 0; i < size; i += 1 + i / 50) CHECK(strcmp(fault_of(bytes, i, &s), "none") != 0);
    CHECK_STR(fault_of(bytes, size - 1, &s), "is cut off");
    CHECK_STR(fault_of(bytes, 100, &s), "is no state file");
    CHECK_STR(fault_of(bytes, size, &s), "none");
    free(bytes);
    remove(path());
}

TEST(whose_it_is)
{
    size_t size;
    char *bytes = packed(&size);
    ex_state s = state();

    REQUIRE(bytes != NULL);
    strcpy(s.program, "toast");
    CHECK_STR(fault_of(bytes, size, &s), "is of another program");
    s = state();
    strcpy(s.site, "there");
    CHECK_STR(fault_of(bytes, size, &s), "is of another site");
    s = state();
    strcpy(s.policy, "nq");
    CHECK_STR(fault_of(bytes, size, &s), "is of another policy");
    s = state();
    s.form = 78;
    CHECK_STR(fault_of(bytes, size, &s), "is of other settings or another model");
    free(bytes);
    remove(path());
}

TEST(who_may_have_written_it)
{
    size_t size;
    char *bytes = packed(&size);
    ex_state s = state();

    REQUIRE(bytes != NULL);
    CHECK_STR(fault_of(bytes, size, &s), "none");
    REQUIRE(chmod(path(), 0602) == 0);
    CHECK_STR(fault_of(NULL, 0, &s), "may be written by everybody");
    REQUIRE(chmod(path(), 0600) == 0);
    if (geteuid() == 0) {
        REQUIRE(chown(path(), 12345, (gid_t)-1) == 0);
        CHECK_STR(fault_of(NULL, 0, &s), "belongs to somebody else");
        s.owner = 12345;
        CHECK_STR(fault_of(NULL, 0, &s), "none");
    }
    remove(path());
    REQUIRE(mkfifo(path(), 0600) == 0); /* nobody writes: it must not be waited for */
    CHECK_STR(fault_of(NULL, 0, &s), "is no file");
    remove(path());
    REQUIRE(mkdir(path(), 0700) == 0);
    CHECK_STR(fault_of(NULL, 0, &s), "is no file");
    CHECK_EQ_I(ex_state_write(path(), bytes, size), EISDIR);
    REQUIRE(rmdir(path()) == 0);
    CHECK_EQ_I(ex_state_write("no/such/folder/s", bytes, size), ENOENT);
    free(bytes);
}

TEST(turns)
{
    const char *fault = "unset";
    uint64_t turn = 9;
    size_t size;
    char *bytes = packed(&size);
    FILE *f;

    REQUIRE(bytes != NULL);
    remove(path());
    CHECK(ex_state_turn(path(), &turn, &fault) && turn == 0 && fault == NULL);
    REQUIRE(ex_state_write(path(), bytes, size) == 0);
    CHECK(ex_state_turn(path(), &turn, &fault));
    CHECK_EQ_U(turn, 3);
    bytes[47] = (char)0x80; /* its highest byte: no turn ever gets there */
    REQUIRE(ex_state_write(path(), bytes, size) == 0);
    CHECK(ex_state_turn(path(), &turn, &fault));
    CHECK_EQ_U(turn, 0);
    f = fopen(path(), "w");
    REQUIRE(f != NULL);
    CHECK(fclose(f) == 0);
    CHECK(ex_state_turn(path(), &turn, &fault)); /* empty: nothing of anybody's is lost */
    f = fopen(path(), "w");
    REQUIRE(f != NULL);
    CHECK(fputs("user www-data;\n", f) > 0 && fclose(f) == 0);
    CHECK(!ex_state_turn(path(), &turn, &fault));
    CHECK_STR(fault, "is no state file");
    free(bytes);
    remove(path());
}

/* What a balancer of rllb.h knew is known again, by a process with another clock. */
TEST(a_balancer_goes_on)
{
    static const rllb_server_desc servers[] = { { "a", 1 }, { "b", 1 }, { "c", 1 } };
    static const char name[3][8] = { "a", "b", "c" };
    ex_text file = { NULL, 0, 0, false };
    ex_state s = state(), out;
    rllb_balancer_desc d;
    rllb_balancer *b;
    rllb_server_info before, after;
    const char *fault;
    void *bytes;
    size_t size;
    int32_t i, j;

    rllb_balancer_desc_default(&d);
    d.policy = RLLB_BALANCE_EQUALISE;
    d.servers = servers;
    d.count = 3;
    d.workers = 2;
    d.shared_size = rllb_balancer_shared_size(&d);
    REQUIRE(posix_memalign(&d.shared, 64, d.shared_size) == 0);
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 60000; i++) {
        double now_s = 1e-3 * i;
        j = rllb_balancer_pick(b, 0, now_s);
        if (i < 59990) rllb_balancer_done(b, j, now_s - (j == 1 ? 0.05 : 0.01), now_s, RLLB_OUTCOME_OK);
        rllb_balancer_tick(b, now_s);
    }
    rllb_balancer_server(b, 1, &before);
    CHECK(before.weight_in_force < 0.8f);
    s.names = name[0];
    s.stride = sizeof name[0];
    s.capacity = 3;
    s.block = d.shared;
    s.block_bytes = d.shared_size;
    s.more_bytes = 0;
    s.clock_s = 60;
    bytes = ex_state_pack(&s, &size);
    REQUIRE(bytes != NULL && ex_state_write(path(), bytes, size) == 0);
    rllb_balancer_destroy(b);
    free(d.shared);
    REQUIRE(ex_state_read(path(), &s, &file, &out, &fault));
    REQUIRE(out.block_bytes == d.shared_size && posix_memalign(&d.shared, 64, d.shared_size) == 0);
    memcpy(d.shared, out.block, out.block_bytes);
    d.join = true;
    d.worker = -1;
    b = rllb_balancer_create(&d);
    REQUIRE(b != NULL);
    for (i = 0; i < 2; i++) CHECK_EQ_I(rllb_balancer_resync(b, i, 60), RLLB_OK);
    rllb_balancer_server(b, 1, &after);
    CHECK_NEAR(after.weight_in_force, before.weight_in_force, 1e-6);
    CHECK_EQ_I(after.in_flight, 0);
    CHECK_EQ_U(after.done, before.done);
    CHECK_EQ_U(after.picks, after.done + after.lost);
    rllb_balancer_destroy(b);
    free(d.shared);
    free(bytes);
    ex_text_free(&file);
    remove(path());
}
