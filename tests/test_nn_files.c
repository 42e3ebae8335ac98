/* test_nn_files.c - safetensors in memory: what we write, what we accept, what we refuse, and that no file harms

   Files are handed over in blocks of exactly their size, so that AddressSanitizer sees the first byte outside. */

#define RLLB_STATIC
#include "rllb_nn.h"
#include "test.h"
#include "test_nn.h"

/* ---- helpers ----------------------------------------------------------------------------------------------- */

typedef struct bytes {
    unsigned char *data;
    size_t size;
} bytes;

/* A file with this header text and so many zero bytes of data. */
static bytes file_of(const char *header, size_t data_bytes)
{
    uint64_t length = strlen(header);
    bytes b;

    b.size = sizeof length + (size_t)length + data_bytes;
    b.data = (unsigned char *)calloc(b.size, 1);
    if (!b.data) abort();
    memcpy(b.data, &length, sizeof length);
    memcpy(b.data + sizeof length, header, (size_t)length);
    return b;
}

static bytes copy_of(const unsigned char *data, size_t size)
{
    bytes b;

    b.size = size;
    b.data = (unsigned char *)malloc(size ? size : 1);
    if (!b.data) abort();
    if (size) memcpy(b.data, data, size);
    return b;
}

static struct {
    int calls;
    rllb_status status;
    char detail[80];
} heard;

static void listen(void *user, rllb_status status, const char *detail)
{
    (void)user;
    heard.calls++;
    heard.status = status;
    snprintf(heard.detail, sizeof heard.detail, "%s", detail);
}

static const rllb_logger logger = { listen, NULL };

static rllb_status check_text(const char *header, size_t data_bytes)
{
    bytes b = file_of(header, data_bytes);
    rllb_status status;

    memset(&heard, 0, sizeof heard);
    status = rllb_nn_file_check(b.data, b.size, &logger);
    if ((status == RLLB_OK) != (heard.calls == 0) || heard.status != status) status = RLLB_STATUS_NUM;
    free(b.data);
    return status;
}

static rllb_nn_net *small_net(rllb_nn_archive *a)
{
    rllb_nn_net_desc d;
    rllb_nn_net *net;

    rllb_nn_net_desc_default(&d);
    d.inputs = 3;
    d.outputs = 2;
    d.hidden[0] = 18;
    d.seed = 5;
    net = rllb_nn_net_create(&d);
    if (!net) abort();
    rllb_nn_net_entries(net, "", a);
    return net;
}

static bytes save(const rllb_nn_archive *a, const rllb_nn_meta *meta, int32_t metas)
{
    bytes b;

    b.size = rllb_nn_archive_size(a, meta, metas);
    b.data = (unsigned char *)malloc(b.size ? b.size : 1);
    if (!b.data || !b.size || rllb_nn_archive_save(a, meta, metas, b.data, b.size) != RLLB_OK) abort();
    return b;
}

#define ENTRIES(name) \
    rllb_nn_entry name##_entries[RLLB_NN_DQN_ENTRIES_MAX]; \
    rllb_nn_archive name = { name##_entries, 0, RLLB_NN_DQN_ENTRIES_MAX, 0 }

/* ---- writing ----------------------------------------------------------------------------------------------- */

TEST(header_by_the_letter)
{
    static const char expected[] =
        "{\"__metadata__\":{\"format\":\"rllb\",\"who\":\"a \\\"b\\\\ \\u000a\\u001f\xc3\xa9\"},"
        "\"m\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"v\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[24,32]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[32,35]}}";
    const rllb_nn_meta meta[1] = { { "who", "a \"b\\ \n\x1f\xc3\xa9" } };
    rllb_nn_entry entries[3];
    rllb_nn_archive a = { entries, 0, 3, 0 };
    float m[6] = { 1, 2, 3, 4, 5, 6 };
    int64_t v[1] = { -2 };
    unsigned char b[3] = { 7, 8, 9 };
    uint64_t length;
    char text[64];
    bytes f;

    rllb_nn_archive_add(&a, "m", RLLB_NN_F32, 2, 3, m);
    rllb_nn_archive_add(&a, "v", RLLB_NN_I64, 1, 0, v);
    rllb_nn_archive_add(&a, "b", RLLB_NN_U8, 3, 0, b);
    f = save(&a, meta, 1);
    memcpy(&length, f.data, sizeof length);
    CHECK(length % 8 == 0);
    CHECK(length >= sizeof expected - 1 && length < sizeof expected + 7);
    REQUIRE(f.size == 8 + length + 35);
    CHECK_MEM(f.data + 8, expected, sizeof expected - 1);
    for (length += 8; length > 8 + sizeof expected - 1; length--) CHECK_EQ_I(f.data[length - 1], ' ');
    memcpy(&length, f.data, sizeof length);
    CHECK_MEM(f.data + 8 + length, m, 24);
    CHECK_MEM(f.data + 8 + length + 24, v, 8);
    CHECK_MEM(f.data + 8 + length + 32, b, 3);
    CHECK_EQ_I(rllb_nn_file_check(f.data, f.size, NULL), RLLB_OK);
    CHECK_EQ_I(rllb_nn_file_meta(f.data, f.size, "who", text, sizeof text), RLLB_OK);
    CHECK_STR(text, meta[0].value);
    CHECK_EQ_I(rllb_nn_file_meta(f.data, f.size, "format", text, 5), RLLB_OK);
    CHECK_STR(text, "rllb");
    CHECK_EQ_I(rllb_nn_file_meta(f.data, f.size, "format", text, 4), RLLB_ERROR_LIMIT);
    CHECK_EQ_I(rllb_nn_file_meta(f.data, f.size, "m", text, 4), RLLB_ERROR_MISSING);
    CHECK_EQ_I(rllb_nn_file_meta(f.data, f.size, NULL, text, 4), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_archive_save(&a, meta, 1, f.data, f.size - 1), RLLB_ERROR_MEMORY_SIZE);
    CHECK_EQ_I(rllb_nn_archive_save(&a, meta, 1, NULL, f.size), RLLB_ERROR_ARGUMENT);
    rllb_nn_archive_add(&a, "one too many", RLLB_NN_U8, 3, 0, b);
    CHECK_EQ_I(a.overflow, 1);
    CHECK_EQ_I(rllb_nn_archive_size(&a, NULL, 0), 0);
    CHECK_EQ_I(rllb_nn_archive_save(&a, NULL, 0, f.data, f.size), RLLB_ERROR_LIMIT);
    CHECK_EQ_I(rllb_nn_archive_load(&a, f.data, f.size, NULL), RLLB_ERROR_ARGUMENT);
    free(f.data);
}

TEST(long_names_overflow)
{
    char name[RLLB_NN_NAME_MAX + 1];
    rllb_nn_entry entries[4];
    rllb_nn_archive a = { entries, 0, 4, 0 };
    unsigned char b[1] = { 0 };
    rllb_nn_net *net;

    memset(name, 'n', sizeof name);
    name[RLLB_NN_NAME_MAX] = 0;
    rllb_nn_archive_add(&a, name, RLLB_NN_U8, 1, 0, b);
    CHECK_EQ_I(a.overflow, 1);
    name[RLLB_NN_NAME_MAX - 1] = 0;
    rllb_nn_archive_add(&a, name, RLLB_NN_U8, 1, 0, b);
    CHECK_EQ_I(a.overflow, 1);
    CHECK_EQ_I(a.count, 1);
    a.count = a.overflow = 0;
    net = small_net(&a);
    CHECK(a.count == 4 && a.overflow == 0);
    a.count = 0;
    rllb_nn_net_entries(net, name, &a); /* a prefix that leaves no room */
    CHECK(a.count == 0 && a.overflow == 4);
    rllb_nn_net_destroy(net);
}

/* Every shape: saved, described from the file alone, loaded into what the description gives: the same answers. */
TEST(networks_round_trip)
{
    static const float leaks[] = { 0, 0.3f, 1, 1e-6f, 0.123456789f, 3.3e-20f, 0.01f };
    static const char *const prefixes[] = { "", "target." };
    rllb_nn_net_desc d, read;
    rllb_rng rng;
    int i, turn = 0;

    rllb_rng_init(&rng, 31, 0);
    for (i = 0; nn_shape(i, &d); i++) {
        ENTRIES(a);
        ENTRIES(into);
        const char *prefix = prefixes[i % 2];
        rllb_nn_net *net, *other;
        rllb_nn_work *work;
        rllb_nn_meta meta[RLLB_NN_NET_METAS];
        float x[32], y[32], z[32];
        char text[80];
        size_t p;
        bytes f;
        d.leak = leaks[turn++ % 7];
        d.seed = (uint64_t)i;
        net = rllb_nn_net_create(&d);
        REQUIRE(net);
        for (p = 0; p < rllb_nn_net_floats(net); p++) { /* norms too */
            if (!(net->data[p] == 0)) net->data[p] += rllb_rng_range(&rng, -0.1f, 0.1f);
        }
        rllb_nn_net_entries(net, prefix, &a);
        f = save(&a, meta, rllb_nn_net_meta(net, text, meta));
        NOTE("shape %d, leak %s", i, text);
        CHECK_EQ_I(rllb_nn_file_check(f.data, f.size, NULL), RLLB_OK);
        CHECK_EQ_I(rllb_nn_net_desc_load(f.data, f.size, prefix, &read), RLLB_OK);
        other = rllb_nn_net_create(&read);
        REQUIRE(other);
        CHECK_EQ_I(rllb_nn_net_parameters(other), rllb_nn_net_parameters(net));
        CHECK(other->desc.leak == net->desc.leak);
        rllb_nn_net_entries(other, prefix, &into);
        CHECK_EQ_I(into.count, a.count);
        CHECK_EQ_I(rllb_nn_archive_load(&into, f.data, f.size, NULL), RLLB_OK);
        CHECK_MEM(other->data, net->data, sizeof(float) * net->floats);
        CHECK_EQ_I(rllb_nn_net_copy(other, net), RLLB_OK); /* the same shape to it, too */
        work = rllb_nn_work_create(net, 1, false);
        REQUIRE(work);
        nn_fill(&rng, x, 32);
        rllb_nn_forward(net, work, x, 1, y);
        rllb_nn_work_destroy(work);
        work = rllb_nn_work_create(other, 1, false);
        REQUIRE(work);
        rllb_nn_forward(other, work, x, 1, z);
        CHECK_MEM(z, y, sizeof(float) * (size_t)d.outputs);
        rllb_nn_work_destroy(work);
        rllb_nn_net_destroy(other);
        rllb_nn_net_destroy(net);
        free(f.data);
    }
}

/* The largest learner there can be fits into RLLB_NN_DQN_ENTRIES_MAX, and no two of its arrays share a name. */
TEST(largest_learner_round_trips)
{
    ENTRIES(a);
    ENTRIES(b);
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *one, *other;
    rllb_rng rng;
    bytes f, g;
    int i;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = d.net.outputs = 3;
    for (i = 0; i < RLLB_NN_HIDDEN_MAX; i++) d.net.hidden[i] = 3 + i;
    d.net.dueling = 4;
    d.net.layer_norm = d.masks = d.replay.prioritized = true;
    d.replay.capacity = 8;
    d.batch = 4;
    one = rllb_nn_dqn_create(&d);
    d.seed = 1;
    other = rllb_nn_dqn_create(&d);
    REQUIRE(one && other);
    rllb_rng_init(&rng, 1, 0);
    for (i = 0; i < 20; i++) {
        float obs[6];
        nn_fill(&rng, obs, 6);
        CHECK_EQ_I(rllb_nn_dqn_observe(one, obs, i % 3, obs[0], obs + 3, NULL, i % 7 == 6, false), RLLB_OK);
        rllb_nn_dqn_update(one, NULL);
    }
    rllb_nn_dqn_entries(one, &a);
    rllb_nn_dqn_entries(other, &b);
    CHECK_EQ_I(a.overflow, 0);
    NOTE("%d of %d entries", (int)a.count, (int)RLLB_NN_DQN_ENTRIES_MAX);
    f = save(&a, NULL, 0);
    CHECK_EQ_I(rllb_nn_archive_load(&b, f.data, f.size, &logger), RLLB_OK); /* refuses names that come twice */
    g = save(&b, NULL, 0);
    CHECK_EQ_I(g.size, f.size);
    CHECK_MEM(g.data, f.data, f.size);
    free(f.data);
    free(g.data);
    rllb_nn_dqn_destroy(one);
    rllb_nn_dqn_destroy(other);
}

/* ---- good and bad headers ---------------------------------------------------------------------------------- */

#define T(name, type, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

TEST(good_headers)
{
    static const struct {
        const char *header;
        size_t data;
    } good[] = {
        { "{}", 0 },
        { "{}   ", 0 },
        { " { } ", 0 },
        { "{\"__metadata__\":{}}", 0 },
        { "{\"__metadata__\":{\"a\":\"\\u00e9\\ud83d\\ude00\\n\\\"\\\\\\/\"}}", 0 },
        { "{" T("a", "F32", "2", "0,8") "}", 8 },
        { "{" T("a", "F32", "", "0,4") "}", 4 },
        { "{" T("a", "F32", "0", "0,0") "}", 0 },
        { "{" T("a", "F32", "5,0", "0,0") "}", 0 },
        { "{" T("a", "F32", "2", "4,12") "," T("b", "I32", "1", "0,4") "}", 12 },
        { "{" T("a", "F64", "1,2,3,1", "0,48") "," T("e", "U8", "0", "48,48") "}", 48 },
        { "{" T("a", "BF16", "3", "0,6") "," T("b", "U8", "2", "6,8") "}", 8 },
        { "{\n\t\"a\" : {\r\n \"data_offsets\" : [ 0 , 8 ] , \"shape\" : [ 1 , 2 ] ,\"dtype\" :\"F32\" } }  ", 8 },
        { "{" T("a", "F32", "1", "0,4") ",\"__metadata__\":{\"k\":\"v\"}}", 4 },
        { "{" T("\\u0061b\\tc", "F32", "1", "0,4") "}", 4 },
    };
    size_t i;

    for (i = 0; i < sizeof good / sizeof *good; i++) {
        NOTE("%s", good[i].header);
        CHECK_EQ_I(check_text(good[i].header, good[i].data), RLLB_OK);
    }
}

TEST(bad_headers)
{
    static const struct {
        const char *header;
        size_t data;
        rllb_status status;
        const char *detail;
    } bad[] = {
        { "", 0, RLLB_ERROR_FORMAT, "header" },
        { "[]", 0, RLLB_ERROR_FORMAT, "header" },
        { "{", 0, RLLB_ERROR_FORMAT, "header" },
        { "{}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{},", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":1}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"b\",}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\\x\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\\u00g0\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\\u00\x11" "1\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\\ud83d\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\\ud83d\\u0041\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\\ude00\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{\"__metadata__\":{\"a\":\"\n\"}}", 0, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "2", "0,8") ",}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "2", "0,8") "} x", 8, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "-2", "0,8") "}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "2.0", "0,8") "}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "2", "0") "}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "2", "0,8,8") "}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, RLLB_ERROR_FORMAT,
          "header" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":[]}}", 8, RLLB_ERROR_FORMAT,
          "header" },
        { "{" T("a", "F32", "18446744073709551616", "0,8") "}", 8, RLLB_ERROR_FORMAT, "header" },
        { "{" T("a", "F32", "4294967296,4294967296,2", "0,8") "}", 8, RLLB_ERROR_FORMAT, "a" },
        { "{" T("a", "F32", "4611686018427387904,4", "0,8") "}", 8, RLLB_ERROR_FORMAT, "a" },
        { "{" T("a", "F32", "3", "0,8") "}", 8, RLLB_ERROR_FORMAT, "a" },
        { "{" T("a", "F32", "2", "8,0") "}", 8, RLLB_ERROR_FORMAT, "a" },
        { "{" T("a", "F32", "2", "0,8") "}", 7, RLLB_ERROR_TRUNCATED, "a" },
        { "{" T("a", "F32", "2", "0,8") "}", 9, RLLB_ERROR_OVERLAP, "data_offsets" },
        { "{}", 1, RLLB_ERROR_OVERLAP, "data_offsets" },
        { "{" T("a", "F32", "2", "0,8") "," T("b", "F32", "2", "4,12") "}", 12, RLLB_ERROR_OVERLAP, "data_offsets" },
        { "{" T("a", "F32", "2", "0,8") "," T("b", "F32", "2", "0,8") "}", 8, RLLB_ERROR_OVERLAP, "b" },
        { "{" T("a", "F32", "3", "0,12") "," T("b", "F32", "1", "4,8") "}", 12, RLLB_ERROR_OVERLAP, "b" },
        { "{" T("a", "F32", "1", "0,4") "," T("b", "F32", "1", "8,12") "}", 12, RLLB_ERROR_OVERLAP, "data_offsets" },
        { "{" T("a", "F32", "1", "4,8") "}", 8, RLLB_ERROR_OVERLAP, "data_offsets" },
        { "{" T("a", "F32", "1", "0,4") "," T("a", "F32", "1", "4,8") "}", 8, RLLB_ERROR_FORMAT, "a" },
        { "{" T("a", "F32", "1", "0,4") "," T("\\u0061", "F32", "1", "4,8") "}", 8, RLLB_ERROR_FORMAT, "a" },
    };
    size_t i;

    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        NOTE("%s", bad[i].header);
        CHECK_EQ_I(check_text(bad[i].header, bad[i].data), bad[i].status);
        CHECK_STR(heard.detail, bad[i].detail);
    }
}

TEST(lengths)
{
    bytes b = file_of("{}", 0);
    uint64_t huge[] = { 3, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63, 1000000 };
    size_t i;

    for (i = 0; i < sizeof huge / sizeof *huge; i++) {
        memcpy(b.data, &huge[i], sizeof huge[i]);
        memset(&heard, 0, sizeof heard);
        CHECK_EQ_I(rllb_nn_file_check(b.data, b.size, &logger), RLLB_ERROR_TRUNCATED);
        CHECK_STR(heard.detail, "header length");
    }
    CHECK_EQ_I(rllb_nn_file_check(NULL, 10, &logger), RLLB_ERROR_ARGUMENT);
    CHECK_EQ_I(rllb_nn_file_check(b.data, 0, NULL), RLLB_ERROR_TRUNCATED);
    free(b.data);
}

TEST(tensors_are_limited)
{
    size_t room = 200000, used = 0;
    char *text = (char *)malloc(room);
    int n, i;

    REQUIRE(text);
    for (n = 1024; n <= 1025; n++) {
        used = (size_t)snprintf(text, room, "{");
        for (i = 0; i < n; i++) { /* written backwards: every round of the checker finds one more */
            used += (size_t)snprintf(text + used, room - used, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],"
                                     "\"data_offsets\":[%d,%d]}", i ? "," : "", i, n - 1 - i, n - i);
        }
        snprintf(text + used, room - used, "}");
        CHECK_EQ_I(check_text(text, (size_t)n), n == 1024 ? RLLB_OK : RLLB_ERROR_LIMIT);
    }
    free(text);
}

/* ---- loading ----------------------------------------------------------------------------------------------- */

/* A load that fails says why, and for which tensor, and changes nothing. */
TEST(failed_loads_write_nothing)
{
    float m[6] = { 1, 2, 3, 4, 5, 6 }, kept[6];
    int32_t v[2] = { 10, 20 }, kept_v[2];
    static const struct {
        const char *header;
        size_t data;
        rllb_status status;
        const char *detail;
    } bad[] = {
        { "{" T("m", "F32", "2,3", "0,24") "}", 24, RLLB_ERROR_MISSING, "v" },
        { "{" T("v", "I32", "2", "0,8") "}", 8, RLLB_ERROR_MISSING, "m" },
        { "{" T("m", "F32", "3,2", "0,24") "," T("v", "I32", "2", "24,32") "}", 32, RLLB_ERROR_SHAPE, "m" },
        { "{" T("m", "F32", "6", "0,24") "," T("v", "I32", "2", "24,32") "}", 32, RLLB_ERROR_SHAPE, "m" },
        { "{" T("m", "I32", "2,3", "0,24") "," T("v", "I32", "2", "24,32") "}", 32, RLLB_ERROR_SHAPE, "m" },
        { "{" T("m", "F32", "2,3", "0,24") "," T("v", "F32", "2", "24,32") "}", 32, RLLB_ERROR_SHAPE, "v" },
        { "{" T("m", "F32", "2,3", "0,24") "," T("v", "U16", "2", "24,32") "}", 32, RLLB_ERROR_SHAPE, "v" },
        { "{" T("m", "F32", "2,3", "0,24") "," T("v", "I32", "2,0", "24,24") "}", 24, RLLB_ERROR_SHAPE, "v" },
        { "{" T("m", "F32", "2,3", "0,24") "," T("v", "I32", "2", "24,32") "}", 31, RLLB_ERROR_TRUNCATED, "v" },
    };
    rllb_nn_entry entries[2];
    rllb_nn_archive a = { entries, 0, 2, 0 };
    bytes f;
    size_t i;

    memcpy(kept, m, sizeof m);
    memcpy(kept_v, v, sizeof v);
    rllb_nn_archive_add(&a, "m", RLLB_NN_F32, 2, 3, m);
    rllb_nn_archive_add(&a, "v", RLLB_NN_I32, 2, 0, v);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        NOTE("%s", bad[i].header);
        f = file_of(bad[i].header, bad[i].data);
        memset(&heard, 0, sizeof heard);
        CHECK_EQ_I(rllb_nn_archive_load(&a, f.data, f.size, &logger), bad[i].status);
        CHECK_EQ_I(heard.calls, 1);
        CHECK_EQ_I(heard.status, bad[i].status);
        CHECK_STR(heard.detail, bad[i].detail);
        CHECK_MEM(m, kept, sizeof m);
        CHECK_MEM(v, kept_v, sizeof v);
        free(f.data);
    }
    /* More than asked for is fine, as are merged dimensions, a type we do not know beside ours, any order. */
    f = file_of("{" T("x", "BF16", "2", "0,4") "," T("v", "I32", "2,1", "4,12") "," T("m", "F32", "2,1,3", "12,36") "}",
                36);
    f.data[f.size - 36 + 4] = 77;
    CHECK_EQ_I(rllb_nn_archive_load(&a, f.data, f.size, &logger), RLLB_OK);
    CHECK_EQ_I(v[0], 77);
    CHECK(m[0] == 0 && m[5] == 0);
    free(f.data);
}

TEST(queries)
{
    bytes f = file_of("{" T("a", "F64", "2,3,4", "0,192") "," T("s", "U64", "", "192,200") ","
                      T("b", "BF16", "1", "200,202") "}", 202);
    rllb_nn_dtype dtype = RLLB_NN_F32;
    int64_t rows = 0, cols = 0;
    size_t offset = 0;

    CHECK_EQ_I(rllb_nn_file_query(f.data, f.size, "a", &dtype, &rows, &cols, &offset), RLLB_OK);
    CHECK(dtype == RLLB_NN_F64 && rows == 2 && cols == 12 && offset == f.size - 202);
    CHECK_EQ_I(rllb_nn_file_query(f.data, f.size, "s", &dtype, &rows, &cols, &offset), RLLB_OK);
    CHECK(dtype == RLLB_NN_U64 && rows == 1 && cols == 0 && offset == f.size - 10);
    CHECK_EQ_I(rllb_nn_file_query(f.data, f.size, "b", &dtype, &rows, &cols, &offset), RLLB_ERROR_SHAPE);
    CHECK_EQ_I(rllb_nn_file_query(f.data, f.size, "c", &dtype, &rows, &cols, &offset), RLLB_ERROR_MISSING);
    CHECK_EQ_I(rllb_nn_file_query(f.data, 5, "a", &dtype, &rows, &cols, &offset), RLLB_ERROR_TRUNCATED);
    free(f.data);
}

TEST(descriptions_that_cannot_be)
{
    static const struct {
        const char *header;
        size_t data;
        rllb_status status;
    } bad[] = {
        { "{}", 0, RLLB_ERROR_MISSING },
        { "{" T("layer.1.weight", "F32", "2,2", "0,16") "}", 16, RLLB_ERROR_MISSING },
        { "{" T("layer.0.weight", "I32", "2,2", "0,16") "}", 16, RLLB_ERROR_MISSING },
        { "{" T("layer.0.weight", "F32", "4", "0,16") "}", 16, RLLB_ERROR_MISSING },
        { "{" T("layer.0.weight", "U8", "2,0", "0,0") "}", 0, RLLB_ERROR_MISSING },
        { "{" T("value.0.weight", "F32", "2,2", "0,16") "}", 16, RLLB_ERROR_MISSING },
        { "{\"__metadata__\":{\"activation\":\"no such\"}," T("layer.0.weight", "F32", "2,2", "0,16") "}", 16,
          RLLB_ERROR_NAME },
        { "{\"__metadata__\":{\"leak\":\"0,1\"}," T("layer.0.weight", "F32", "2,2", "0,16") "}", 16,
          RLLB_ERROR_FORMAT },
        { "{\"__metadata__\":{\"leak\":\"1.5\"}," T("layer.0.weight", "F32", "2,2", "0,16") "}", 16, RLLB_ERROR_SHAPE },
        { "{" T("layer.0.weight", "F32", "2,2", "0,15") "}", 15, RLLB_ERROR_FORMAT },
    };
    rllb_nn_net_desc d, before;
    char text[4000];
    size_t i, used;
    bytes f;

    memset(&d, 7, sizeof d);
    before = d;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        NOTE("%s", bad[i].header);
        f = file_of(bad[i].header, bad[i].data);
        CHECK_EQ_I(rllb_nn_net_desc_load(f.data, f.size, "", &d), bad[i].status);
        CHECK_MEM(&d, &before, sizeof d);
        free(f.data);
    }
    /* ten layers: one more than there can be */
    for (i = 0, used = 0; i < 10; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%c\"layer.%d.weight\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[%d,%d]}",
                                 i ? ',' : '{', (int)i, (int)i * 4, (int)i * 4 + 4);
    }
    snprintf(text + used, sizeof text - used, "}");
    f = file_of(text, 40);
    CHECK_EQ_I(rllb_nn_net_desc_load(f.data, f.size, "", &d), RLLB_ERROR_LIMIT);
    free(f.data);
}

/* ---- damage ------------------------------------------------------------------------------------------------ */

/* All that reads a file, on this one. True if the loader took it. */
static bool read_all_ways(const bytes *f, const rllb_nn_archive *into)
{
    rllb_nn_net_desc d;
    rllb_nn_dtype dtype;
    int64_t rows, cols;
    size_t offset;
    char text[20];
    bool good = rllb_nn_file_check(f->data, f->size, NULL) == RLLB_OK;

    rllb_nn_file_query(f->data, f->size, "layer.1.bias", &dtype, &rows, &cols, &offset);
    rllb_nn_file_meta(f->data, f->size, "activation", text, sizeof text);
    rllb_nn_net_desc_load(f->data, f->size, "", &d);
    return rllb_nn_archive_load(into, f->data, f->size, NULL) == RLLB_OK && good;
}

TEST(every_prefix_is_refused)
{
    ENTRIES(a);
    rllb_nn_net *net = small_net(&a);
    rllb_nn_meta meta[RLLB_NN_NET_METAS];
    float *kept = nn_floats(net->floats);
    char text[80];
    bytes f = save(&a, meta, rllb_nn_net_meta(net, text, meta));
    size_t size;
    int taken = 0;

    for (size = 0; size < net->floats; size++) net->data[size] *= 2; /* other than in the file */
    memcpy(kept, net->data, sizeof(float) * net->floats);
    for (size = 0; size < f.size; size++) {
        bytes part = copy_of(f.data, size);
        taken += read_all_ways(&part, &a);
        free(part.data);
    }
    CHECK_EQ_I(taken, 0);
    CHECK_MEM(net->data, kept, sizeof(float) * net->floats);
    CHECK(read_all_ways(&f, &a));
    CHECK(memcmp(net->data, kept, sizeof(float) * net->floats) != 0);
    free(f.data);
    free(kept);
    rllb_nn_net_destroy(net);
}

static rllb_nn_dqn *small_learner(uint64_t seed)
{
    rllb_nn_dqn_desc d;
    rllb_nn_dqn *agent;
    rllb_rng rng;
    int i;

    rllb_nn_dqn_desc_default(&d);
    d.net.inputs = d.net.outputs = 3;
    d.net.hidden[0] = 5;
    d.replay.capacity = 8;
    d.replay.n_step = 2;
    d.replay.prioritized = d.masks = true;
    d.batch = 4;
    d.seed = seed;
    agent = rllb_nn_dqn_create(&d);
    if (!agent) abort();
    rllb_rng_init(&rng, seed, 0);
    for (i = 0; i < 11; i++) {
        float obs[6];
        nn_fill(&rng, obs, 6);
        rllb_nn_dqn_observe(agent, obs, i % 3, obs[0], obs + 3, NULL, false, false);
        rllb_nn_dqn_update(agent, NULL);
    }
    return agent;
}

/* A learner, whatever was loaded into it: valid actions, and memory that sanitizers have nothing to say about. */
static bool learner_lives(rllb_nn_dqn *agent)
{
    static const unsigned char mask[3] = { 0, 1, 1 };
    const float obs[3] = { 0.1f, -0.2f, 0.3f };
    bool ok = true;
    int i;

    for (i = 0; i < 6; i++) {
        int32_t action = rllb_nn_dqn_act(agent, obs, i % 2 ? mask : NULL);
        ok = ok && action >= 0 && action < 3 && (i % 2 == 0 || mask[action]);
        ok = ok && rllb_nn_dqn_observe(agent, obs, action, 1, obs, mask, i == 4, false) == RLLB_OK;
        rllb_nn_dqn_update(agent, NULL);
    }
    return ok && rllb_nn_replay_count(rllb_nn_dqn_replay(agent)) <= 8;
}

/* Random damage to the file of a learner: bytes, header numbers, and all of an array at once. What still loads must
   still live. */
TEST(damaged_files_harm_nothing)
{
#if defined(RLLB_I_ASAN) || defined(RLLB_NN_I_ARM) /* which an emulator may be */
    enum { ROUNDS = 600 };
#else
    enum { ROUNDS = 4000 };
#endif
    ENTRIES(a);
    ENTRIES(b);
    rllb_nn_dqn *agent = small_learner(1), *other = small_learner(2);
    rllb_rng rng;
    bytes f, g;
    int round, taken = 0;
    bool lived = true;
    uint64_t header;

    rllb_nn_dqn_entries(agent, &a);
    rllb_nn_dqn_entries(other, &b);
    f = save(&a, NULL, 0);
    memcpy(&header, f.data, sizeof header);
    rllb_rng_init(&rng, 41, 0);
    for (round = 0; round < ROUNDS; round++) {
        int hits = 1 + rllb_rng_below(&rng, 4);
        g = copy_of(f.data, f.size);
        while (hits-- > 0) {
            size_t front = 8 + (size_t)header;
            size_t at = round % 3 == 0 ? (size_t)rllb_rng_below(&rng, (int32_t)front)
                                       : front + (size_t)rllb_rng_below(&rng, (int32_t)(f.size - front));
            if (round % 3 == 2) { /* eight bytes at an extreme */
                static const unsigned char extremes[] = { 0, 0xff, 0x7f, 0x80 };
                size_t i, start = at & ~(size_t)7;
                for (i = start; i < start + 8 && i < g.size; i++) g.data[i] = extremes[rllb_rng_below(&rng, 2)];
                if (start + 8 <= g.size) g.data[start + 7] = extremes[rllb_rng_below(&rng, 4)];
            } else if (round % 2) {
                g.data[at] ^= (unsigned char)(1 << rllb_rng_below(&rng, 8));
            } else {
                g.data[at] = (unsigned char)rllb_rng_below(&rng, 256);
            }
        }
        if (read_all_ways(&g, &b)) {
            taken++;
            lived = learner_lives(other) && lived;
        }
        free(g.data);
    }
    CHECK(lived);
    NOTE("%d of %d damaged files were still of the right form", taken, ROUNDS);
    CHECK(taken > ROUNDS / 4 && taken < ROUNDS);
    free(f.data);
    rllb_nn_dqn_destroy(agent);
    rllb_nn_dqn_destroy(other);
}

/* One by one, each array of a learner filled with zeros, ones, the largest and smallest numbers, NaN. */
TEST(arrays_of_nonsense_harm_nothing)
{
    static const unsigned char patterns[][8] = {
        { 0, 0, 0, 0, 0, 0, 0, 0 }, { 1, 0, 0, 0, 1, 0, 0, 0 }, { 255, 255, 255, 255, 255, 255, 255, 255 },
        { 255, 255, 255, 127, 255, 255, 255, 127 }, { 0, 0, 0, 128, 0, 0, 0, 128 }, { 0, 0, 128, 127, 0, 0, 128, 127 },
        { 255, 255, 127, 127, 255, 255, 127, 127 }, { 254, 255, 255, 255, 255, 255, 255, 127 }
    };
    int pattern;
    int32_t e;
    size_t i, size;

    for (pattern = 0; pattern < (int)(sizeof patterns / sizeof *patterns); pattern++) {
        ENTRIES(list);
        rllb_nn_dqn *agent = small_learner(3);
        rllb_nn_dqn_entries(agent, &list);
        rllb_nn_dqn_destroy(agent);
        for (e = 0; e < list.count; e++) {
            ENTRIES(a);
            unsigned char *to;
            bytes f;
            agent = small_learner(3);
            rllb_nn_dqn_entries(agent, &a);
            f = save(&a, NULL, 0);
            { /* as a file would: through the loader */
                rllb_nn_dtype dtype;
                int64_t rows, cols;
                size_t offset;
                const char *name = a.entries[e].name;
                REQUIRE(rllb_nn_file_query(f.data, f.size, name, &dtype, &rows, &cols, &offset) == RLLB_OK);
                to = f.data + offset;
                size = rllb_i_entry_bytes(&a.entries[e]);
            }
            for (i = 0; i < size; i++) to[i] = patterns[pattern][i % 8];
            NOTE("pattern %d in %s", pattern, a.entries[e].name);
            CHECK_EQ_I(rllb_nn_archive_load(&a, f.data, f.size, NULL), RLLB_OK);
            CHECK(learner_lives(agent));
            free(f.data);
            rllb_nn_dqn_destroy(agent);
        }
    }
}
