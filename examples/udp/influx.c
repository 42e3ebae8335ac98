/* influx.c - InfluxDB: what is asked, and what is made of the answer

   Asked is the latest point of each series in the last minute, never a mean, so that the stamp is a sample's own:

       v1    GET /query?db=D&epoch=ns&q=..., three statements in one (InfluxQL), answered in JSON
       v2    POST /api/v2/query?org=O, one pipeline (Flux) in a JSON body, answered in annotated CSV

   No name of a host or client is ever part of a query, so nothing that stands in one can change it. What the operator
   names, database, bucket and organisation, is escaped.

   Telegraf's schema: cpu{cpu=cpu-total} usage_idle, or where that is missing usage_user + usage_system; mem
   used_percent; net{interface} bytes_recv and bytes_sent, the latest of all interfaces of a host summed, at the time of
   the newest. lo counts as nothing; interface=all, where Telegraf puts the counters of protocols, is let be.
   Collectd's (its listener in InfluxDB; ValuesPercentage true, ReportByCpu false): cpu_value{type=percent} idle,
   memory_value{type=percent} used, interface_rx and interface_tx{type=if_octets,instance}. */

#include "source.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_MOST = 200000 }; /* of an answer; each costs a hundred bytes while it is read */

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static const char *const telegraf_query =
    "SELECT \"usage_idle\",\"usage_user\",\"usage_system\" FROM \"cpu\" WHERE \"cpu\"='cpu-total' AND "
    "time > now() - %ds GROUP BY \"host\" ORDER BY time DESC LIMIT 1;"
    "SELECT \"used_percent\" FROM \"mem\" WHERE time > now() - %ds GROUP BY \"host\" ORDER BY time DESC LIMIT 1;"
    "SELECT \"bytes_recv\",\"bytes_sent\" FROM \"net\" WHERE time > now() - %ds GROUP BY \"host\",\"interface\" "
    "ORDER BY time DESC LIMIT 1";

static const char *const collectd_query =
    "SELECT \"value\" FROM \"cpu_value\" WHERE \"type\"='percent' AND \"type_instance\"='idle' AND "
    "time > now() - %ds GROUP BY \"host\" ORDER BY time DESC LIMIT 1;"
    "SELECT \"value\" FROM \"memory_value\" WHERE \"type\"='percent' AND \"type_instance\"='used' AND "
    "time > now() - %ds GROUP BY \"host\" ORDER BY time DESC LIMIT 1;"
    "SELECT \"value\" FROM \"interface_rx\",\"interface_tx\" WHERE \"type\"='if_octets' AND "
    "time > now() - %ds GROUP BY \"host\",\"instance\" ORDER BY time DESC LIMIT 1";

static const char *const flux_query =
    " |> range(start: -%ds)"
    " |> filter(fn: (r) => (r._measurement == \"cpu\" and r.cpu == \"cpu-total\" and (r._field == \"usage_idle\" or"
    " r._field == \"usage_user\" or r._field == \"usage_system\")) or (r._measurement == \"mem\" and"
    " r._field == \"used_percent\") or (r._measurement == \"net\" and (r._field == \"bytes_recv\" or"
    " r._field == \"bytes_sent\")))"
    " |> last()"
    " |> keep(columns: [\"_time\", \"_value\", \"_field\", \"_measurement\", \"host\", \"interface\"])";

/* Each %d of the query is the range. */
static void with_range(ex_text *to, const char *query, double range_s)
{
    const char *at;

    while ((at = strstr(query, "%d")) != NULL) {
        ex_text_add(to, query, (size_t)(at - query));
        ex_text_printf(to, "%d", (int)range_s);
        query = at + 2;
    }
    ex_text_add(to, query, strlen(query));
}

void ud_influx1_url(const char *base, const char *database, bool collectd, double range_s, ex_text *to)
{
    ex_text query = { NULL, 0, 0, false };

    with_range(&query, collectd ? collectd_query : telegraf_query, range_s);
    ex_text_printf(to, "%s/query?db=", base);
    ex_text_escape(to, database);
    ex_text_printf(to, "&epoch=ns&q=");
    if (query.failed) to->failed = true;
    else ex_text_escape(to, query.data);
    ex_text_free(&query);
}

void ud_influx2_url(const char *base, const char *org, ex_text *to)
{
    ex_text_printf(to, "%s/api/v2/query?org=", base);
    ex_text_escape(to, org);
}

/* A string of Flux. All that could mean anything there is written by its number: quotes, backslashes, ${...}. */
static void flux_string(ex_text *to, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./ ";

    ex_text_printf(to, "\"");
    for (; *text; text++) {
        if (strchr(plain, *text)) ex_text_add(to, text, 1);
        else ex_text_printf(to, "\\x%02x", (unsigned)(unsigned char)*text);
    }
    ex_text_printf(to, "\"");
}

bool ud_influx2_body(const char *bucket, double range_s, ex_text *to)
{
    ex_text query = { NULL, 0, 0, false };
    cJSON *root = cJSON_CreateObject(), *dialect = cJSON_AddObjectToObject(root, "dialect");
    cJSON *notes = cJSON_AddArrayToObject(dialect, "annotations");
    char *text = NULL;

    ex_text_printf(&query, "from(bucket: ");
    flux_string(&query, bucket);
    ex_text_printf(&query, ")");
    with_range(&query, flux_query, range_s);
    cJSON_AddStringToObject(root, "query", query.failed ? "" : query.data);
    cJSON_AddStringToObject(root, "type", "flux");
    cJSON_AddTrueToObject(dialect, "header");
    cJSON_AddStringToObject(dialect, "delimiter", ",");
    cJSON_AddItemToArray(notes, cJSON_CreateString("datatype"));
    cJSON_AddItemToArray(notes, cJSON_CreateString("group"));
    cJSON_AddItemToArray(notes, cJSON_CreateString("default"));
    if (!query.failed) text = cJSON_PrintUnformatted(root);
    if (text) ex_text_add(to, text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(root);
    ex_text_free(&query);
    return (text && !to->failed) || ex_fail("not enough memory for a query") == EX_OK;
}

/* ---- points into readings ---------------------------------------------------------------------------------------- */

typedef enum thing { OF_CPU, OF_MEMORY, OF_NETWORK } thing;
enum { IDLE, USER, SYSTEM, VALUES };          /* of a processor */
enum { USED = 0 };                            /* of memory */
enum { RECEIVED = 0, SENT = 1 };              /* of interfaces */

static const struct known {
    const char *measurement, *field;
    thing of;
    int32_t value;
} kinds[] = {
    { "cpu", "usage_idle", OF_CPU, IDLE },
    { "cpu", "usage_user", OF_CPU, USER },
    { "cpu", "usage_system", OF_CPU, SYSTEM },
    { "mem", "used_percent", OF_MEMORY, USED },
    { "net", "bytes_recv", OF_NETWORK, RECEIVED },
    { "net", "bytes_sent", OF_NETWORK, SENT },
    { "cpu_value", "value", OF_CPU, IDLE },
    { "memory_value", "value", OF_MEMORY, USED },
    { "interface_rx", "value", OF_NETWORK, RECEIVED },
    { "interface_tx", "value", OF_NETWORK, SENT },
};

/* One thing of one host. */
typedef struct slot {
    char host[UD_NAME_MOST];
    thing of;
    double at_s, value[VALUES]; /* NaN: not said */
} slot;

typedef struct gather {
    slot *slot;
    int32_t count, most;
    int32_t *table; /* slot's index + 1, by hash; a power of two of places */
    uint32_t places;
} gather;

static bool gather_open(gather *g, int32_t most)
{
    memset(g, 0, sizeof *g);
    g->most = most;
    for (g->places = 16; g->places < 2 * (uint32_t)most;) g->places *= 2;
    g->slot = calloc((size_t)most + 1, sizeof *g->slot);
    g->table = calloc(g->places, sizeof *g->table);
    return g->slot && g->table;
}

static void gather_close(gather *g)
{
    free(g->slot);
    free(g->table);
}

/* NULL: there is no more room, or no host has that name. */
static slot *slot_of(gather *g, const char *host, thing of)
{
    uint32_t h = 2166136261u + (uint32_t)of, at;
    const char *c;
    slot *s;

    if (!ud_name_ok(host)) return NULL;
    for (c = host; *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
    for (at = (h ^ h >> 15) & (g->places - 1); g->table[at]; at = (at + 1) & (g->places - 1)) {
        s = &g->slot[g->table[at] - 1];
        if (s->of == of && strcmp(s->host, host) == 0) return s;
    }
    if (g->count == g->most) return NULL;
    s = &g->slot[g->count++];
    g->table[at] = g->count;
    memcpy(s->host, host, strlen(host) + 1);
    s->of = of;
    s->at_s = s->value[0] = s->value[1] = s->value[2] = UD_NAN;
    return s;
}

/* One number that the database holds. Of processor and memory the newest counts, of interfaces all are summed.
   interface NULL: not told. */
static void gather_add(gather *g, const char *measurement, const char *field, const char *host, const char *interface,
                       double at_s, double value)
{
    const struct known *k = kinds, *end = kinds + sizeof kinds / sizeof *kinds;
    slot *s;

    while (k < end && (strcmp(k->measurement, measurement) != 0 || strcmp(k->field, field) != 0)) k++;
    if (k == end || !isfinite(at_s) || !isfinite(value)) return;
    if (k->of == OF_NETWORK && interface && strcmp(interface, "all") == 0) return;
    if (k->of == OF_NETWORK && interface && strcmp(interface, "lo") == 0) value = 0;
    s = slot_of(g, host, k->of);
    if (!s) return;
    if (k->of == OF_NETWORK) {
        s->value[k->value] = isnan(s->value[k->value]) ? value : s->value[k->value] + value;
    } else if (!(at_s < s->at_s)) {
        if (at_s > s->at_s) s->value[0] = s->value[1] = s->value[2] = UD_NAN;
        s->value[k->value] = value;
    }
    if (!(at_s <= s->at_s)) s->at_s = at_s;
}

/* False: nothing of use is said. */
static bool slot_reading(const slot *s, ud_reading *r)
{
    ud_reading_begin(r, s->host, s->at_s);
    if (s->of == OF_CPU) {
        r->cpu_percent = isnan(s->value[IDLE]) ? s->value[USER] + s->value[SYSTEM] : 100 - s->value[IDLE];
        return !isnan(r->cpu_percent);
    }
    if (s->of == OF_MEMORY) {
        r->memory_percent = s->value[USED];
        return true;
    }
    r->bytes_in = s->value[RECEIVED];
    r->bytes_out = s->value[SENT];
    return !isnan(r->bytes_in) && !isnan(r->bytes_out);
}

static int32_t gather_out(const gather *g, ud_reading *out)
{
    int32_t i, count = 0;

    for (i = 0; i < g->count; i++) count += slot_reading(&g->slot[i], &out[count]);
    return count;
}

/* In the database's words; false. Of several statements that find no database 1.6 says no more than that they were not
   executed. */
static bool refused(char why[160], const char *words)
{
    bool unsaid = strcmp(words, "not executed") == 0;

    return ud_wrong(why, "%.120s%s", words[0] ? words : "an error of which nothing is said",
                    unsaid ? ": is there such a database?" : "");
}

/* ---- v1: JSON ---------------------------------------------------------------------------------------------------- */

/* NULL: it is no JSON, or too much of it. */
static cJSON *json_of(const char *text, size_t size)
{
    int32_t values = 0;
    const char *end = NULL;
    char *copy;
    cJSON *root;
    size_t i;

    for (i = 0; i < size; i++) values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    copy = values < VALUES_MOST ? malloc(size + 1) : NULL;
    if (!copy) return NULL;
    if (size > 0) memcpy(copy, text, size);
    copy[size] = '\0'; /* cJSON is safest with that */
    root = cJSON_ParseWithOpts(copy, &end, 0);
    if (root && end + strspn(end, " \t\r\n") != copy + size) {
        cJSON_Delete(root);
        root = NULL;
    }
    free(copy);
    return root;
}

static const char *string_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* Rows are [time, value, value ...]. */
static void add_row(gather *g, const cJSON *series, const cJSON *row, const char *host, const char *interface)
{
    const cJSON *column = cJSON_GetObjectItemCaseSensitive(series, "columns");
    const cJSON *value = cJSON_IsArray(row) ? row->child : NULL;
    const char *measurement = string_of(series, "name");
    double at_s;

    column = cJSON_IsArray(column) ? column->child : NULL;
    if (!measurement || !cJSON_IsNumber(value) || !column) return;
    at_s = 1e-9 * value->valuedouble;
    for (column = column->next, value = value->next; column && value; column = column->next, value = value->next) {
        const char *field = cJSON_GetStringValue(column);
        if (!field || !cJSON_IsNumber(value)) continue;
        gather_add(g, measurement, field, host, interface, at_s, value->valuedouble);
    }
}

static void add_series(gather *g, const cJSON *series)
{
    const cJSON *tags = cJSON_GetObjectItemCaseSensitive(series, "tags"), *row;
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(series, "values");
    const char *host = string_of(tags, "host"), *interface = string_of(tags, "interface");

    if (!host) return;
    if (!interface) interface = string_of(tags, "instance");
    cJSON_ArrayForEach(row, rows) add_row(g, series, row, host, interface);
}

/* False: the database told of an error instead. */
static bool add_results(gather *g, const cJSON *root, char why[160])
{
    const cJSON *results = cJSON_GetObjectItemCaseSensitive(root, "results"), *result, *series;
    const char *fault = string_of(root, "error");

    if (fault) return refused(why, fault);
    if (!cJSON_IsArray(results)) return ud_wrong(why, "an answer without results");
    cJSON_ArrayForEach(result, results) {
        fault = string_of(result, "error");
        if (fault) return refused(why, fault);
        cJSON_ArrayForEach(series, cJSON_GetObjectItemCaseSensitive(result, "series")) add_series(g, series);
    }
    return true;
}

int32_t ud_parse_influx1(const char *text, size_t size, ud_reading *out, int32_t most, char why[160])
{
    cJSON *root = json_of(text, size);
    int32_t count = -1;
    gather g;

    why[0] = '\0';
    if (!root) return ud_wrong(why, "no JSON, cut off, or too much of it") ? 0 : -1;
    if (!gather_open(&g, most)) ud_wrong(why, "not enough memory");
    else if (add_results(&g, root, why)) count = gather_out(&g, out);
    gather_close(&g);
    cJSON_Delete(root);
    return count;
}

/* {"error": "..."} of v1, {"code": "...", "message": "..."} of v2. */
void ud_influx_error(const char *text, size_t size, char why[160])
{
    cJSON *root = size < 65536 ? json_of(text, size) : NULL;
    const char *words = string_of(root, "error");

    if (!words) words = string_of(root, "message");
    ud_wrong(why, "%.150s", words ? words : "");
    cJSON_Delete(root);
}

/* ---- v2: annotated CSV ------------------------------------------------------------------------------------------- */

/* Tables follow one another. Each has rows that begin with #, notes on its columns; then one with the names of columns,
   the first of which, the place of notes, is empty; then its own. An empty line ends it, or a note that begins the next
   one. A failure that came while the answer was under way is a table with the column `error`. */
enum { AT, VALUE, FIELD, MEASUREMENT, HOST, INTERFACE, FAULT, PLACES };
static const char *const flux_column[PLACES] = { "_time", "_value", "_field", "_measurement", "host", "interface",
                                                "error" };

typedef struct flux {
    ud_csv csv;
    char *field[UD_COLUMNS_MOST], *by_default[UD_COLUMNS_MOST];
    int32_t defaults;      /* how many of them there are */
    int32_t width;         /* fields of a row; 0: the names of columns come next */
    int32_t place[PLACES]; /* -1: no such column */
} flux;

static void header_of(flux *f, int32_t fields)
{
    int32_t i, j;

    f->width = fields;
    for (i = 0; i < PLACES; i++) {
        f->place[i] = -1;
        for (j = 1; j < fields && f->place[i] < 0; j++) {
            if (strcmp(f->field[j], flux_column[i]) == 0) f->place[i] = j;
        }
    }
}

/* What row and default say; NULL: there is no such column. */
static const char *cell(const flux *f, int32_t what)
{
    int32_t at = f->place[what];

    if (at < 0) return NULL;
    return f->field[at][0] == '\0' && at < f->defaults ? f->by_default[at] : f->field[at];
}

static bool add_record(flux *f, gather *g, char why[160])
{
    const char *value = cell(f, VALUE), *at = cell(f, AT), *field = cell(f, FIELD), *of = cell(f, MEASUREMENT);
    const char *host = cell(f, HOST);
    double number, at_s;

    if (!value || !at || !field || !of || !host || !ex_parse_double(value, &number)) return true; /* of no use */
    at_s = ud_time_of(at);
    if (isnan(at_s)) return ud_wrong(why, "line %d: '%.40s' is no time", (int)f->csv.line, at);
    gather_add(g, of, field, host, cell(f, INTERFACE), at_s, number);
    return true;
}

static bool add_line(flux *f, int32_t fields, gather *g, char why[160])
{
    int32_t line = f->csv.line, i;
    bool note = f->field[0][0] == '#';

    if ((fields == 1 && f->field[0][0] == '\0') || (note && f->width > 0)) f->width = f->defaults = 0;
    if (note && strcmp(f->field[0], "#default") == 0) {
        for (i = 0; i < fields; i++) f->by_default[i] = f->field[i];
        f->defaults = fields;
    }
    if (note || (fields == 1 && f->field[0][0] == '\0')) return true;
    if (f->width == 0) {
        if (fields < 2 || f->field[0][0]) return ud_wrong(why, "line %d is no annotated CSV", (int)line);
        header_of(f, fields);
        return true;
    }
    if (f->place[FAULT] >= 0) {
        i = f->place[FAULT] < fields ? f->place[FAULT] : 0;
        return refused(why, f->field[i]);
    }
    if (fields == f->width) return add_record(f, g, why);
    return ud_wrong(why, "line %d: %d fields instead of %d", (int)line, (int)fields, (int)f->width);
}

static bool add_tables(flux *f, gather *g, char why[160])
{
    int32_t fields;

    while ((fields = ud_csv_row(&f->csv, f->field, UD_COLUMNS_MOST)) > 0) {
        if (!add_line(f, fields, g, why)) return false;
    }
    if (fields < 0) return ud_wrong(why, "line %.150s", f->csv.why);
    return !f->csv.cut || ud_wrong(why, "cut off: no line end");
}

int32_t ud_parse_influx2(const char *text, size_t size, ud_reading *out, int32_t most, char why[160])
{
    int32_t count = -1;
    gather g;
    flux f;

    memset(&f, 0, sizeof f);
    why[0] = '\0';
    if (!ud_csv_open(&f.csv, text, size)) return ud_wrong(why, "%s", f.csv.why) ? 0 : -1;
    if (!gather_open(&g, most)) ud_wrong(why, "not enough memory");
    else if (add_tables(&f, &g, why)) count = gather_out(&g, out);
    gather_close(&g);
    ud_csv_close(&f.csv);
    return count;
}
