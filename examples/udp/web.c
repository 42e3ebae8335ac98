/* web.c - HTTP by libcurl, many requests of one thread at a time

   Only http:// and https://, straight to the host named: redirects are an answer like any other, a proxy of the
   environment is not asked, ~/.netrc is not read. Connections are kept. An answer is whole or it is none: one that is
   cut short, longer than 4 MiB, later than its time or not HTTP arrives as status 0 and the reason. */

#include "udp.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEPT_MOST = UD_CLIENTS_MOST + 16, HEADER_BYTES_MOST = 65536 };
#define ANSWER_BYTES_MOST ((size_t)4 << 20)
static const char too_large[] = "the answer is larger than 4 MiB";

typedef struct asking {
    struct asking *next;
    CURL *easy;
    struct curl_slist *headers;
    ex_text body;
    size_t header_bytes;
    const char *fault; /* why we ended it; NULL: we did not */
    ud_answer answer;
    char want[32];
    char error[CURL_ERROR_SIZE];
    ud_web_fn fn;
    void *user;
} asking;

struct ud_web {
    CURLM *multi;
    asking *open; /* not answered yet */
};

/* ---- an answer comes --------------------------------------------------------------------------------------------- */

/* Fewer than `count` ends the transfer. */
static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    asking *a = user;

    if (size != 1 || count > ANSWER_BYTES_MOST - a->body.size) {
        a->fault = too_large;
        return 0;
    }
    ex_text_add(&a->body, bytes, count);
    if (a->body.failed) a->fault = "not enough memory for the answer";
    return a->body.failed ? 0 : count;
}

/* One line, its end included. A value that does not fit is left out rather than cut. */
static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    asking *a = user;
    size_t n = strlen(a->want), end = count, i;

    a->header_bytes += count;
    if (size != 1 || a->header_bytes > HEADER_BYTES_MOST) {
        a->fault = "more than 64 KiB of headers";
        return 0;
    }
    if (count >= 5 && memcmp(line, "HTTP/", 5) == 0) a->answer.header[0] = '\0'; /* 100 came first */
    if (n == 0 || count <= n || line[n] != ':' || strncasecmp(line, a->want, n) != 0) return count;
    for (i = n + 1; i < end && (line[i] == ' ' || line[i] == '\t');) i++;
    while (end > i && (unsigned char)line[end - 1] <= ' ') end--;
    if (end - i >= sizeof a->answer.header) return count;
    memcpy(a->answer.header, line + i, end - i);
    a->answer.header[end - i] = '\0';
    return count;
}

static void asking_free(asking *a)
{
    if (a->easy) curl_easy_cleanup(a->easy);
    curl_slist_free_all(a->headers);
    ex_text_free(&a->body);
    free(a);
}

static void asking_unlink(ud_web *w, const asking *a)
{
    asking **at = &w->open;

    while (*at && *at != a) at = &(*at)->next;
    if (*at) *at = a->next;
}

static void hand_over(ud_web *w, asking *a, CURLcode result)
{
    long status = 0;

    if (result == CURLE_OK) {
        curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
        a->answer.text = a->body.data ? a->body.data : "";
        a->answer.size = a->body.size;
    } else {
        a->answer.text = a->error[0] ? a->error : curl_easy_strerror(result);
        if (result == CURLE_FILESIZE_EXCEEDED) a->fault = too_large;
        if (a->fault) a->answer.text = a->fault;
        a->answer.size = strlen(a->answer.text);
    }
    a->answer.status = (int32_t)status;
    asking_unlink(w, a);
    a->fn(a->user, &a->answer);
    asking_free(a);
}

/* How many were answered. What they ask anew is not answered before the next turn. */
static int32_t hand_out(ud_web *w)
{
    int32_t answered = 0;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(w->multi, &left)) != NULL) {
        CURLcode result = message->data.result;
        CURL *easy = message->easy_handle;
        char *of = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &of);
        curl_multi_remove_handle(w->multi, easy);
        hand_over(w, (asking *)(void *)of, result);
        answered++;
    }
    return answered;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static bool scheme_ok(const char *url)
{
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) return false;
    for (; *url; url++) {
        if ((unsigned char)*url <= ' ' || *url == 127) return false;
    }
    return true;
}

static bool set_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
}

/* What makes a request one of ours; all but the words of it. */
static bool set_manners(asking *a, double timeout_s)
{
    long ms = timeout_s > 0 && timeout_s < 1e6 ? (long)(1000 * timeout_s) + 1 : 10000;
    CURL *e = a->easy;

#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a name that is still looked up is not waited for at the end */
#endif
    return set_protocols(e) && curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_USERAGENT, "rllb") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, ms) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, ms) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)ANSWER_BYTES_MOST) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, a->error) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, a) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, a) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PRIVATE, (void *)a) == CURLE_OK;
}

static bool set_words(asking *a, const char *url, const char *const *headers, const char *body)
{
    for (; headers && *headers; headers++) {
        struct curl_slist *more = strpbrk(*headers, "\r\n") ? NULL : curl_slist_append(a->headers, *headers);
        if (!more) return false;
        a->headers = more;
    }
    if (curl_easy_setopt(a->easy, CURLOPT_URL, url) != CURLE_OK) return false;
    if (a->headers && curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, a->headers) != CURLE_OK) return false;
    if (!body) return true;
    return curl_easy_setopt(a->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body)) == CURLE_OK &&
           curl_easy_setopt(a->easy, CURLOPT_COPYPOSTFIELDS, body) == CURLE_OK;
}

bool ud_web_ask(ud_web *w, const char *url, const char *const *headers, const char *body, const char *want,
                double timeout_s, ud_web_fn fn, void *user)
{
    asking *a;

    if (!scheme_ok(url)) return ex_fail("'%.80s' is no address of http:// or https://", url) == EX_OK;
    a = calloc(1, sizeof *a);
    if (!a) return ex_fail("not enough memory to ask %.80s", url) == EX_OK;
    a->fn = fn;
    a->user = user;
    if (want) snprintf(a->want, sizeof a->want, "%s", want);
    a->easy = curl_easy_init();
    if (!a->easy || !set_manners(a, timeout_s) || !set_words(a, url, headers, body) ||
        curl_multi_add_handle(w->multi, a->easy) != CURLM_OK) {
        asking_free(a);
        return ex_fail("cannot ask %.80s", url) == EX_OK;
    }
    a->next = w->open;
    w->open = a;
    return true;
}

void ud_web_wait(ud_web *w, double wait_s)
{
    if (wait_s > 0) curl_multi_poll(w->multi, NULL, 0, (int)(1000 * (wait_s < 1000 ? wait_s : 1000) + 0.5), NULL);
}

void ud_web_turn(ud_web *w, double wait_s)
{
    int running;

    curl_multi_perform(w->multi, &running);
    if (hand_out(w) > 0 || !(wait_s > 0)) return;
    ud_web_wait(w, wait_s);
    curl_multi_perform(w->multi, &running);
    hand_out(w);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

bool ud_web_create(ud_web **out)
{
    ud_web *w;

    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return ex_fail("libcurl does not start") == EX_OK;
    w = calloc(1, sizeof *w);
    if (w) w->multi = curl_multi_init();
    if (!w || !w->multi) {
        free(w);
        curl_global_cleanup();
        return ex_fail("not enough memory for HTTP") == EX_OK;
    }
    curl_multi_setopt(w->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_MOST);
    *out = w;
    return true;
}

void ud_web_destroy(ud_web *w)
{
    if (!w) return;
    while (w->open) {
        asking *a = w->open;
        w->open = a->next;
        curl_multi_remove_handle(w->multi, a->easy);
        asking_free(a);
    }
    curl_multi_cleanup(w->multi);
    free(w);
    curl_global_cleanup();
}
