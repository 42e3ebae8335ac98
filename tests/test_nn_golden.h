/* test_nn_golden.h - what the tests against PyTorch share: reading the fixtures of tests/golden, comparing with them.
   Include it behind test_nn.h. Programs run in the project's root folder. */

#ifndef TEST_NN_GOLDEN_H
#define TEST_NN_GOLDEN_H

/* ---- fixtures ---------------------------------------------------------------------------------------------- */

typedef struct fixture_tensor {
    char name[2 * RLLB_NN_NAME_MAX];
    float *data;
    size_t n;
} fixture_tensor;

typedef struct fixture {
    unsigned char *bytes;
    size_t size;
    fixture_tensor taken[200];
    int count;
} fixture;

NN_MAYBE_UNUSED static void fixture_close(fixture *f)
{
    while (f->count > 0) free(f->taken[--f->count].data);
    free(f->bytes);
    f->bytes = NULL;
}

NN_MAYBE_UNUSED static bool fixture_open(fixture *f, const char *name)
{
    char path[200];
    FILE *file;
    long size;

    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    file = fopen(path, "rb");
    if (!file) return false;
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    if (size > 0) f->bytes = (unsigned char *)malloc((size_t)size);
    if (f->bytes) f->size = fread(f->bytes, 1, (size_t)size, file);
    fclose(file);
    return f->bytes && rllb_nn_file_check(f->bytes, f->size, NULL) == RLLB_OK;
}

/* The numbers of one tensor, as floats whatever they are in the file; they live as long as the fixture. */
NN_MAYBE_UNUSED static float *take(fixture *f, const char *prefix, const char *name, size_t *count)
{
    fixture_tensor *t;
    rllb_nn_dtype dtype = RLLB_NN_F32;
    int64_t rows = 0, cols = 0;
    size_t offset = 0, i;
    char full[sizeof t->name];

    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (t = f->taken; t < f->taken + f->count; t++) {
        if (strcmp(t->name, full) != 0) continue;
        if (count) *count = t->n;
        return t->data;
    }
    if (rllb_nn_file_query(f->bytes, f->size, full, &dtype, &rows, &cols, &offset) != RLLB_OK || f->count == 200) {
        printf("no tensor %s\n", full);
        abort(); /* the fixtures are ours; nothing below makes sense without */
    }
    memcpy(t->name, full, sizeof full);
    t->n = (size_t)rows * (size_t)(cols ? cols : 1);
    t->data = (float *)malloc(t->n * sizeof(float));
    if (!t->data) abort();
    f->count++;
    memcpy(t->data, f->bytes + offset, t->n * sizeof(float));
    for (i = 0; dtype == RLLB_NN_I32 && i < t->n; i++) {
        int32_t v;
        memcpy(&v, f->bytes + offset + 4 * i, sizeof v);
        t->data[i] = (float)v;
    }
    if (count) *count = t->n;
    return t->data;
}

NN_MAYBE_UNUSED static float one(fixture *f, const char *prefix, const char *name)
{
    return *take(f, prefix, name, NULL);
}

static double worst; /* of the running test */

/* Largest difference over the largest value. */
NN_MAYBE_UNUSED static bool agree(const float *is, const float *should, size_t n, double tolerance)
{
    double off = 0, most = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        double d = fabs((double)is[i] - (double)should[i]);
        off = nn_worse(off, d);
        if (fabs((double)should[i]) > most) most = fabs((double)should[i]);
    }
    off /= most > 0 ? most : 1;
    worst = nn_worse(worst, off);
    return off <= tolerance;
}

NN_MAYBE_UNUSED static bool agree_tensor(fixture *f, const char *prefix, const char *name, const float *is, size_t n,
                                         double tolerance)
{
    size_t count;
    const float *should = take(f, prefix, name, &count);
    return count == n && agree(is, should, n, tolerance);
}

/* Whether `data`, which is laid out as the parameters of the network, is PREFIX* of the fixture times `scale`. */
NN_MAYBE_UNUSED static bool agree_parameters(fixture *f, const rllb_nn_net *net, float *data, float scale,
                                             const char *prefix, double tolerance)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };
    bool ok = true;
    int32_t e;

    rllb_i_parameter_entries(net, data, "", &a);
    for (e = 0; e < a.count; e++) {
        int64_t r, c, n = entries[e].shape[0] * entries[e].shape[1];
        float *is = (float *)malloc(sizeof(float) * (size_t)n);
        if (!is) abort();
        for (r = 0; r < entries[e].shape[0]; r++) {
            for (c = 0; c < entries[e].shape[1]; c++) {
                const float *at = entries[e].panels ? rllb_i_panel_element(&entries[e], r, c)
                                                    : (const float *)entries[e].data + r;
                is[r * entries[e].shape[1] + c] = scale * *at;
            }
        }
        ok = agree_tensor(f, prefix, entries[e].name, is, (size_t)n, tolerance) && ok;
        free(is);
    }
    return ok && a.count > 0 && !a.overflow;
}

NN_MAYBE_UNUSED static bool load(const fixture *f, rllb_nn_net *net, const char *prefix)
{
    rllb_nn_entry entries[RLLB_NN_NET_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_NET_ENTRIES_MAX, 0 };

    rllb_nn_net_entries(net, prefix, &a);
    return rllb_nn_archive_load(&a, f->bytes, f->size, NULL) == RLLB_OK;
}

#endif /* TEST_NN_GOLDEN_H */
