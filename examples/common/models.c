/* models.c - see models.h */

#include "models.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODEL_BYTES_MAX = 1 << 26, VALUE_BYTES = 64 };

const char *const ex_features_names[] = { "cikm", "neurips", "own", "relative", NULL };
const char *const ex_form_names[] = { "sed", "draw", NULL };

void ex_features_shape(int32_t features, int32_t *globals, int32_t *per_server)
{
    static const int32_t shape[RLLB_FEATURES_NUM][2] = { { 0, 6 }, { 16, 11 }, { 0, 8 }, { 6, 9 } };

    *globals = shape[features][0];
    *per_server = shape[features][1];
}

/* ---- the fields of the metadata -------------------------------------------------------------------------------- */

typedef enum field_kind {
    FIELD_NAME,
    FIELD_WHOLE,
    FIELD_LONG,
    FIELD_SEED,
    FIELD_REAL,
    FIELD_SWITCH,
    FIELD_TEXT
} field_kind;

typedef struct field {
    const char *key;
    field_kind kind;
    size_t at; /* in an ex_model_info */
    double low, high;
    const char *const *names; /* NAME: low stands for the first */
} field;

#define AT(member) offsetof(ex_model_info, member)

static const field fields[] = {
    { "features", FIELD_NAME, AT(features), RLLB_FEATURES_CIKM, 0, ex_features_names },
    { "form", FIELD_NAME, AT(form), RLLB_FORM_SED, 0, ex_form_names },
    { "d", FIELD_WHOLE, AT(d), 1, 64, NULL },
    { "a", FIELD_REAL, AT(a), 0, 16, NULL },
    { "gamma", FIELD_REAL, AT(gamma), 0, 16, NULL },
    { "control_form", FIELD_SWITCH, AT(control_form), 0, 0, NULL },
    { "control_steps", FIELD_SWITCH, AT(control_steps), 0, 0, NULL },
    { "spread", FIELD_REAL, AT(spread), 0, 3, NULL },
    { "smoothing", FIELD_REAL, AT(smoothing), 0, 0.999, NULL },
    { "interval_s", FIELD_REAL, AT(interval_s), 0.001, 3600, NULL },
    { "sample_s", FIELD_REAL, AT(sample_s), 0.001, 3600, NULL },
    { "slots", FIELD_WHOLE, AT(slots), 1, RLLB_BALANCER_SLOTS_MAX, NULL },
    { "discount", FIELD_REAL, AT(discount), 0.001, 1, NULL },
    { "empty_as_zero", FIELD_SWITCH, AT(empty_as_zero), 0, 0, NULL },
    { "algorithm", FIELD_TEXT, AT(algorithm), 0, 0, NULL },
    { "preset", FIELD_TEXT, AT(preset), 0, 0, NULL },
    { "episodes", FIELD_LONG, AT(episodes), 1, 1e12, NULL },
    { "seed", FIELD_SEED, AT(seed), 0, 0, NULL },
};

static int32_t place_of(const char *text, const char *const *names)
{
    int32_t i;

    for (i = 0; names[i] && strcmp(text, names[i]) != 0; i++) {}
    return names[i] ? i : -1;
}

static bool text_fits(const char *text)
{
    size_t i;

    for (i = 0; text[i] >= ' ' && text[i] <= '~'; i++) {}
    return !text[i] && i < sizeof ((ex_model_info *)0)->algorithm;
}

/* The value of a field into the info; false: it is none. */
static bool field_take(const field *f, const char *text, ex_model_info *info)
{
    static const char *const switches[] = { "no", "yes", NULL };
    void *to = (unsigned char *)info + f->at;
    double real = 0;
    int64_t whole = 0;
    int32_t place;

    switch (f->kind) {
    case FIELD_NAME:
        place = place_of(text, f->names);
        if (place >= 0) *(int32_t *)to = place + (int32_t)f->low;
        return place >= 0;
    case FIELD_SWITCH:
        place = place_of(text, switches);
        *(bool *)to = place == 1;
        return place >= 0;
    case FIELD_WHOLE:
    case FIELD_LONG:
        if (!ex_parse_int64(text, &whole) || (double)whole < f->low || (double)whole > f->high) return false;
        if (f->kind == FIELD_LONG) *(int64_t *)to = whole;
        else *(int32_t *)to = (int32_t)whole;
        return true;
    case FIELD_SEED: return ex_parse_uint64(text, (uint64_t *)to);
    case FIELD_REAL:
        if (!ex_parse_double(text, &real) || !(real >= f->low && real <= f->high)) return false;
        *(float *)to = (float)real;
        return true;
    case FIELD_TEXT: break;
    }
    if (text_fits(text)) memcpy(to, text, strlen(text) + 1);
    return text_fits(text);
}

/* What a field may be, for a complaint. */
static const char *field_wants(const field *f, char out[120])
{
    size_t used = 0;
    int32_t i;

    switch (f->kind) {
    case FIELD_NAME:
        for (i = 0; f->names[i]; i++) {
            used += (size_t)snprintf(out + used, 120 - used, "%s%s", i ? ", " : "one of ", f->names[i]);
        }
        break;
    case FIELD_SWITCH: snprintf(out, 120, "yes or no"); break;
    case FIELD_WHOLE:
    case FIELD_LONG: snprintf(out, 120, "a whole number from %.15g to %.15g", f->low, f->high); break;
    case FIELD_SEED: snprintf(out, 120, "a whole number"); break;
    case FIELD_REAL: snprintf(out, 120, "a number from %g to %g", f->low, f->high); break;
    case FIELD_TEXT: snprintf(out, 120, "at most 31 plain characters"); break;
    }
    return out;
}

/* The text of a field; false: it has the value that a missing one has. */
static bool field_give(const field *f, const ex_model_info *info, char text[VALUE_BYTES])
{
    const void *from = (const unsigned char *)info + f->at;
    char number[32];
    int32_t place;

    switch (f->kind) {
    case FIELD_NAME:
        place = *(const int32_t *)from - (int32_t)f->low;
        snprintf(text, VALUE_BYTES, "%s", place >= 0 && place < 4 && f->names[place] ? f->names[place] : "?");
        return true;
    case FIELD_SWITCH: snprintf(text, VALUE_BYTES, "%s", *(const bool *)from ? "yes" : "no"); return true;
    case FIELD_WHOLE:
        snprintf(text, VALUE_BYTES, "%d", (int)*(const int32_t *)from);
        return *(const int32_t *)from != 0;
    case FIELD_LONG:
        snprintf(text, VALUE_BYTES, "%lld", (long long)*(const int64_t *)from);
        return *(const int64_t *)from != 0;
    case FIELD_SEED: snprintf(text, VALUE_BYTES, "%llu", (unsigned long long)*(const uint64_t *)from); return true;
    case FIELD_REAL:
        snprintf(text, VALUE_BYTES, "%s", ex_number_float(*(const float *)from, number));
        return f->low <= 0 || !(*(const float *)from >= 0 && *(const float *)from <= 0);
    case FIELD_TEXT: break;
    }
    snprintf(text, VALUE_BYTES, "%s", (const char *)from);
    return text[0] != '\0';
}

void ex_model_info_default(ex_model_info *info)
{
    memset(info, 0, sizeof *info);
    info->features = RLLB_FEATURES_CIKM;
    info->form = RLLB_FORM_SED;
    info->d = 3;
    info->a = 1;
    info->discount = 0.9f;
}

void ex_model_info_apply(const ex_model_info *info, rllb_balancer_desc *b)
{
    b->features = (rllb_features)info->features;
    b->form = (rllb_form)info->form;
    b->d = info->d;
    b->a = info->a > 0 ? info->a : RLLB_OFF;
    b->gamma = info->gamma;
    b->control_form = info->control_form;
    b->control_steps = info->control_steps;
    b->spread = info->spread;
    b->smoothing = info->smoothing;
    b->slots = info->slots;
    b->discount = info->discount;
    b->empty_as_zero = info->empty_as_zero;
}

/* ---- out of a file --------------------------------------------------------------------------------------------- */

static void remember(void *user, rllb_status status, const char *detail)
{
    (void)status;
    snprintf(user, 80, "%s", detail);
}

static bool read_fields(ex_model *m)
{
    char text[VALUE_BYTES], wants[120];
    int32_t i;

    for (i = 0; i < EX_COUNT(fields); i++) {
        rllb_status status = rllb_nn_file_meta(m->file.data, m->file.size, fields[i].key, text, sizeof text);
        if (status == RLLB_ERROR_MISSING) continue;
        if (status != RLLB_OK) snprintf(text, sizeof text, "...");
        if (status == RLLB_OK && field_take(&fields[i], text, &m->info)) continue;
        return ex_fail("%s: the field %s is '%s', but should be %s", m->path, fields[i].key, text,
                       field_wants(&fields[i], wants)) == EX_OK;
    }
    return true;
}

/* What the network sees and says against what the balancer shows and wants. */
static bool check_shape(const ex_model *m)
{
    const rllb_nn_space *s = &m->policy.space;
    int32_t globals, per;
    bool ok;

    ex_features_shape(m->info.features, &globals, &per);
    if (s->item_observations > 0) ok = s->observations == globals && s->item_observations == per;
    else ok = s->observations == globals + per * s->heads;
    if (!ok) {
        return ex_fail("%s: the field features is '%s', which is %d numbers and %d a server; the network sees others",
                       m->path, ex_features_names[m->info.features], (int)globals, (int)per) == EX_OK;
    }
    if (m->info.control_form && s->common != 3) {
        return ex_fail("%s: the field control_form is 'yes', which takes three decisions besides the weights; the "
                       "network makes %d", m->path, (int)s->common) == EX_OK;
    }
    return true;
}

static bool range_ok(const ex_model *m, const float *values, double low, double high)
{
    int32_t i, count = m->policy.space.choices > 0 ? m->policy.space.choices : 2;

    for (i = 0; i < count; i++) {
        if (!((double)values[i] >= low && (double)values[i] <= high)) return false;
    }
    return true;
}

/* What decisions mean must be what a balancer takes. */
static bool check_values(const ex_model *m)
{
    const rllb_nn_policy_desc *p = &m->policy;
    bool ok = range_ok(m, p->values, m->info.control_steps ? 1e-6 : 0, 1e6);

    if (!ok) return ex_fail("%s: policy.values has what is no weight", m->path) == EX_OK;
    if (!m->info.control_form) return true;
    ok = range_ok(m, p->common[0], 1, 64) && range_ok(m, p->common[1], 0, 16) && range_ok(m, p->common[2], 0, 16);
    if (!ok) return ex_fail("%s: policy.common has what is no d, a or gamma", m->path) == EX_OK;
    return true;
}

/* The arrays of a policy from the file. */
static rllb_nn_policy *policy_load(const ex_model *m, const rllb_nn_policy_desc *d, char detail[80])
{
    rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
    rllb_nn_policy *p = rllb_nn_policy_create(d);
    rllb_logger logger = { remember, NULL };
    rllb_status status;

    detail[0] = '\0';
    logger.user = detail;
    if (!p) return NULL;
    rllb_nn_policy_entries(p, &a);
    status = a.overflow ? RLLB_ERROR_LIMIT : rllb_nn_archive_load(&a, m->file.data, m->file.size, &logger);
    if (status == RLLB_OK) return p;
    if (!detail[0]) snprintf(detail, 80, "%s", rllb_status_name(status));
    rllb_nn_policy_destroy(p);
    return NULL;
}

/* Are all numbers of a tensor some? Integers are. */
static bool tensor_finite(const ex_model *m, const char *name)
{
    rllb_nn_dtype type;
    int64_t rows, cols, i;
    float value;
    size_t at;

    if (rllb_nn_file_query(m->file.data, m->file.size, name, &type, &rows, &cols, &at) != RLLB_OK) return true;
    for (i = 0; type == RLLB_NN_F32 && i < rows * (cols > 0 ? cols : 1); i++) {
        memcpy(&value, m->file.data + at + (size_t)i * sizeof value, sizeof value);
        if (!isfinite(value)) return false;
    }
    return true;
}

/* A weight that is no number would make every decision one that is refused. */
static bool check_numbers(const ex_model *m)
{
    rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
    char detail[80];
    rllb_nn_policy *p = policy_load(m, &m->policy, detail);
    bool ok = true;
    int32_t i;

    if (!p) return ex_fail("%s: %s", m->path, detail[0] ? detail : "not enough memory for its network") == EX_OK;
    rllb_nn_policy_entries(p, &a);
    for (i = 0; ok && i < a.count; i++) {
        ok = tensor_finite(m, entries[i].name);
        if (!ok) ex_fail("%s: %s has a number that is not finite", m->path, entries[i].name);
    }
    rllb_nn_policy_destroy(p);
    return ok;
}

static const char *policy_fault(rllb_status status)
{
    switch (status) {
    case RLLB_ERROR_MISSING: return "it has no policy.space, policy.values or network";
    case RLLB_ERROR_VERSION: return "it was saved by another version of the format";
    case RLLB_ERROR_SHAPE: return "its tensors do not fit each other";
    case RLLB_ERROR_NAME: return "its activation has a name that is none";
    default: return "its numbers make no network";
    }
}

/* m->path and m->file are there; all else from them. False: said. */
static bool model_parse(ex_model *m)
{
    char detail[80] = "";
    rllb_logger logger = { remember, NULL };
    rllb_status status;

    logger.user = detail;
    status = rllb_nn_file_check(m->file.data, m->file.size, &logger);
    if (status != RLLB_OK) {
        ex_fail("%s: is no whole model file: %s", m->path, detail[0] ? detail : rllb_status_name(status));
        return false;
    }
    status = rllb_nn_policy_desc_load(m->file.data, m->file.size, 0, &m->policy);
    if (status != RLLB_OK) return ex_fail("%s: is no balancing policy: %s", m->path, policy_fault(status)) == EX_OK;
    ex_model_info_default(&m->info);
    return read_fields(m) && check_shape(m) && check_values(m) && check_numbers(m);
}

/* "runs/qmix.safetensors" is called qmix. */
static void name_after(const char *path, char name[48])
{
    const char *slash = strrchr(path, '/');
    size_t length;

    snprintf(name, 48, "%s", slash ? slash + 1 : path);
    length = strlen(name);
    if (length > 12 && strcmp(name + length - 12, ".safetensors") == 0) name[length - 12] = '\0';
}

static bool model_begin(ex_model *m, const char *path)
{
    memset(m, 0, sizeof *m);
    if (strlen(path) >= sizeof m->path) return ex_fail("%.100s...: too long a path", path) == EX_OK;
    snprintf(m->path, sizeof m->path, "%s", path);
    name_after(path, m->name);
    return true;
}

bool ex_model_open(const char *path, ex_model *out)
{
    if (model_begin(out, path) && ex_file_read(path, MODEL_BYTES_MAX, &out->file) && model_parse(out)) return true;
    ex_model_close(out);
    return false;
}

/* ---- into a file ----------------------------------------------------------------------------------------------- */

/* The bytes of a file into m->file. */
static bool model_write(ex_model *m, rllb_nn_policy *policy, const ex_model_info *info)
{
    rllb_nn_entry entries[RLLB_NN_POLICY_ENTRIES_MAX];
    rllb_nn_archive a = { entries, 0, RLLB_NN_POLICY_ENTRIES_MAX, 0 };
    rllb_nn_meta meta[RLLB_NN_NET_METAS + EX_COUNT(fields)];
    char texts[EX_COUNT(fields)][VALUE_BYTES], net_text[80];
    int32_t metas = rllb_nn_net_meta(rllb_nn_policy_net(policy), net_text, meta), i;
    size_t size;
    void *bytes;

    for (i = 0; i < EX_COUNT(fields); i++) {
        if (!field_give(&fields[i], info, texts[i])) continue;
        meta[metas].key = fields[i].key;
        meta[metas++].value = texts[i];
    }
    rllb_nn_policy_entries(policy, &a);
    size = rllb_nn_archive_size(&a, meta, metas);
    bytes = size ? malloc(size) : NULL;
    if (!bytes || rllb_nn_archive_save(&a, meta, metas, bytes, size) != RLLB_OK) {
        free(bytes);
        ex_fail("%s: %s", m->path, size ? "not enough memory for the file" : "the network makes no file");
        return false;
    }
    ex_text_add(&m->file, bytes, size);
    free(bytes);
    return !m->file.failed || ex_fail("%s: not enough memory for the file", m->path) == EX_OK;
}

bool ex_model_make(rllb_nn_policy *policy, const ex_model_info *info, const char *name, ex_model *out)
{
    if (model_begin(out, name) && model_write(out, policy, info) && model_parse(out)) return true;
    ex_model_close(out);
    return false;
}

bool ex_model_save(const char *path, rllb_nn_policy *policy, const ex_model_info *info)
{
    ex_model m;
    bool ok = ex_model_make(policy, info, path, &m) && ex_text_write(&m.file, path);

    ex_model_close(&m);
    return ok;
}

/* ---- in a world ------------------------------------------------------------------------------------------------ */

/* The policies of the balancers of one kind of world. */
typedef struct ex_team {
    struct ex_team *next;
    int32_t servers, balancers;
    void **policies;
} ex_team;

static void team_free(ex_team *t)
{
    int32_t i;

    for (i = 0; t->policies && i < t->balancers; i++) rllb_nn_policy_destroy(t->policies[i]);
    free(t->policies);
    free(t);
}

void ex_model_close(ex_model *m)
{
    while (m->teams) {
        ex_team *t = m->teams;
        m->teams = t->next;
        team_free(t);
    }
    ex_text_free(&m->file);
    memset(m, 0, sizeof *m);
}

static int32_t balancers_of(const rllb_env_flows_desc *d)
{
    return d->balancers > 0 ? d->balancers : 1;
}

bool ex_model_fits(const ex_model *m, const rllb_env_flows_desc *d, char why[200])
{
    const rllb_nn_space *s = &m->policy.space;
    rllb_nn_policy_desc p;

    why[0] = '\0';
    if (s->item_observations <= 0 && s->heads != d->count) {
        snprintf(why, 200, "%.100s is made for %d servers, this world has %d", m->path, (int)s->heads, (int)d->count);
    } else if (s->agent_id && m->policy.agents < balancers_of(d)) {
        snprintf(why, 200, "%.100s tells %d balancers apart, this world has %d", m->path, (int)m->policy.agents,
                 (int)balancers_of(d));
    } else if (rllb_nn_policy_desc_load(m->file.data, m->file.size, d->count, &p) != RLLB_OK) {
        snprintf(why, 200, "%.100s cannot be made for %d servers", m->path, (int)d->count);
    }
    return !why[0];
}

/* A policy for balancer i of a world with so many servers. */
static rllb_nn_policy *member_make(const ex_model *m, int32_t servers, int32_t i)
{
    rllb_nn_policy_desc d;
    char detail[80];

    if (rllb_nn_policy_desc_load(m->file.data, m->file.size, servers, &d) != RLLB_OK) return NULL;
    d.agent = d.space.agent_id ? i : 0;
    return policy_load(m, &d, detail);
}

static ex_team *team_make(ex_model *m, int32_t servers, int32_t balancers)
{
    ex_team *t = calloc(1, sizeof *t);
    int32_t i;
    bool ok = t != NULL;

    if (!ok) return NULL;
    t->servers = servers;
    t->balancers = balancers;
    t->policies = calloc((size_t)balancers, sizeof *t->policies);
    ok = t->policies != NULL;
    for (i = 0; ok && i < balancers; i++) {
        t->policies[i] = member_make(m, servers, i);
        ok = t->policies[i] != NULL;
    }
    if (ok) {
        t->next = m->teams;
        m->teams = t;
        return t;
    }
    team_free(t);
    return NULL;
}

bool ex_model_apply(ex_model *m, rllb_env_flows_desc *d)
{
    rllb_balancer_desc before = d->balancer, *b = &d->balancer;
    ex_team *t = m->teams;
    char why[200];

    if (!ex_model_fits(m, d, why)) return ex_fail("%s", why) == EX_OK;
    while (t && (t->servers != d->count || t->balancers < balancers_of(d))) t = t->next;
    if (!t) t = team_make(m, d->count, balancers_of(d));
    if (!t) return ex_fail("%s: not enough memory for %d policies", m->path, (int)balancers_of(d)) == EX_OK;
    rllb_balancer_desc_default(b);
    b->guard = before.guard;
    b->name = before.name;
    b->reward = before.reward;
    b->policy = RLLB_BALANCE_LEARNED;
    b->control = rllb_nn_policy_control;
    ex_model_info_apply(&m->info, b);
    d->controls = t->policies;
    if (m->info.interval_s > 0) d->step_s = (double)m->info.interval_s;
    if (m->info.sample_s > 0) d->sample_s = (double)m->info.sample_s;
    return true;
}

void ex_model_begin(const rllb_env_flows_desc *d)
{
    int32_t i;

    if (d->balancer.control != rllb_nn_policy_control || !d->controls) return;
    for (i = 0; i < balancers_of(d); i++) rllb_nn_policy_begin(d->controls[i]);
}

/* ---- the shelf ------------------------------------------------------------------------------------------------- */

typedef struct shelved {
    struct shelved *next;
    ex_model model;
} shelved;

/* Where the model is that ships with rllb. False: nowhere. */
static bool find_shipped(char path[512])
{
    char program[400], *slash;
    ssize_t length;

    snprintf(path, 512, "%s", EX_MODEL_SHIPPED);
    if (access(path, F_OK) == 0) return true;
    length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0 || length >= (ssize_t)sizeof program - 1) return false;
    program[length] = '\0';
    slash = strrchr(program, '/');
    if (!slash) return false;
    *slash = '\0';
    snprintf(path, 512, "%s/../%s", program, EX_MODEL_SHIPPED);
    if (access(path, F_OK) == 0) return true;
    snprintf(path, 512, "%s/../../%s", program, EX_MODEL_SHIPPED); /* programs of a folder in build */
    return access(path, F_OK) == 0;
}

ex_model *ex_model_shelf(const char *path)
{
    static shelved *shelf;
    char shipped[512];
    shelved *s;

    if (!path && !find_shipped(shipped)) {
        ex_fail("there is no file %s, neither here nor beside the program", EX_MODEL_SHIPPED);
        return NULL;
    }
    if (!path) path = shipped;
    for (s = shelf; s; s = s->next) {
        if (strcmp(s->model.path, path) == 0) return &s->model;
    }
    s = calloc(1, sizeof *s);
    if (!s) ex_fail("not enough memory for %s", path);
    if (!s || !ex_model_open(path, &s->model)) {
        free(s);
        return NULL;
    }
    s->next = shelf;
    shelf = s;
    return &s->model;
}

rllb_nn_policy *ex_model_network(const ex_model *m, int32_t servers)
{
    return member_make(m, servers, 0);
}
