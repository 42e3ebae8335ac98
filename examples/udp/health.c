/* health.c - probes and silence

   A probe is a datagram of your own words to the client, every probe_s; anything that its address sends back within
   probe_timeout_s is an answer. So many answers in a row (rise) put a client in, so many probes without one in a row
   (fall) take it out; at first all are in. Probes to the clients are spread over the interval.

   Silence is what the data thread sees where replies are passed back: SILENT_LEAST datagrams and more were sent for
   silence_s, and not one answer came. Then the client is out, and tried: the next sender that comes is given to it
   (ud_try_ask), after a second and then after twice as long each time, up to sixteen. One answer puts it in again.

   Who is out is down for the balancer, until nobody is in: then all of them are in, since a datagram sent to a client
   that may be dead is worth more than one thrown away. It is over as soon as one answers. So the senders decide in the
   end; and where nobody answers them, since the service says nothing at all, silence changes nothing. */

#include "udp.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SILENT_LEAST = 3, ANSWERS_A_TURN = 1024 };
#define TRY_S 1.0
#define TRY_LONGEST_S 16.0

typedef struct check {
    struct sockaddr_in6 at;  /* whom it is about */
    bool here, alive;        /* alive: by probes */
    bool awaited, silent;
    double came_s, next_s, sent_s;
    int32_t good, bad;       /* in a row */
    uint64_t since_us, base; /* unanswered since then, when so many had been sent */
    uint64_t answered_us;    /* the latest answer when it fell silent */
    double try_s, wait_s;    /* the next try, and how long after it another one */
} check;

struct ud_health {
    char probe[UD_TEXT_MOST];
    double probe_s, timeout_s, silence_s;
    int32_t rise, fall;
    rllb_balancer *keeper;
    ud_board *board;
    int socket; /* -1: no probes */
    bool panic;
    check check[UD_CLIENTS_MOST];
};

/* ---- probes ------------------------------------------------------------------------------------------------------ */

static bool socket_open(ud_health *h)
{
    int off = 0;

    h->socket = socket(AF_INET6, SOCK_DGRAM, 0);
    if (h->socket >= 0 && setsockopt(h->socket, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
        fcntl(h->socket, F_SETFL, O_NONBLOCK) == 0 && fcntl(h->socket, F_SETFD, FD_CLOEXEC) == 0) return true;
    return ex_fail("probe: no socket: %s", strerror(errno)) == EX_OK;
}

/* A probe that cannot be sent is one without an answer. */
static void probe(ud_health *h, check *k, double now_s)
{
    const struct sockaddr *to = (const struct sockaddr *)(const void *)&k->at;

    if (now_s < k->next_s) return;
    k->next_s += h->probe_s;
    if (k->next_s <= now_s) k->next_s = now_s + h->probe_s;
    if (sendto(h->socket, h->probe, strlen(h->probe), 0, to, sizeof k->at) < 0 && errno == EINTR) return;
    k->awaited = true;
    k->sent_s = now_s;
}

static void count(const ud_health *h, check *k, bool answered)
{
    k->awaited = false;
    k->good = answered ? k->good + 1 : 0;
    k->bad = answered ? 0 : k->bad + 1;
    if (k->good >= h->rise) k->alive = true;
    if (k->bad >= h->fall) k->alive = false;
}

static void take_answers(ud_health *h)
{
    struct sockaddr_in6 from;
    socklen_t size;
    char bytes[16];
    int32_t i, j;

    for (i = 0; i < ANSWERS_A_TURN; i++) {
        size = sizeof from;
        memset(&from, 0, sizeof from);
        if (recvfrom(h->socket, bytes, sizeof bytes, 0, (struct sockaddr *)(void *)&from, &size) < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) return;
            continue;
        }
        for (j = 0; j < UD_CLIENTS_MOST; j++) {
            check *k = &h->check[j];
            if (!k->here || !k->awaited || k->at.sin6_port != from.sin6_port) continue;
            if (memcmp(&k->at.sin6_addr, &from.sin6_addr, sizeof from.sin6_addr) == 0) count(h, k, true);
        }
    }
}

static void probe_all(ud_health *h, double now_s)
{
    int32_t j;

    take_answers(h);
    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        check *k = &h->check[j];
        if (!k->here) continue;
        if (k->awaited && now_s - k->sent_s >= h->timeout_s) count(h, k, false);
        if (!k->awaited) probe(h, k, now_s);
    }
}

/* ---- silence ----------------------------------------------------------------------------------------------------- */

static void fall_silent(ud_health *h, check *k, const ud_seat *s, double now_s)
{
    uint64_t since_us = ud_load(&s->unanswered_us), sent = ud_load(&s->sent);
    double since_s = 1e-6 * (double)since_us;

    if (since_us != k->since_us) {
        k->since_us = since_us;
        k->base = sent;
    }
    if (since_s < k->came_s) since_s = k->came_s; /* what was not answered before was another's to answer */
    if (!since_us || now_s - since_s < h->silence_s || sent - k->base < SILENT_LEAST) return;
    k->silent = true;
    k->answered_us = ud_load(&s->answered_us);
    k->wait_s = TRY_S;
    k->try_s = now_s + k->wait_s;
}

/* Asks for one more try, if nobody else is waiting for his. */
static void try_again(ud_health *h, check *k, int32_t j, double now_s)
{
    if (now_s < k->try_s || ud_try_asked(h->board)) return;
    ud_try_ask(h->board, j);
    k->wait_s = k->wait_s < TRY_LONGEST_S / 2 ? 2 * k->wait_s : TRY_LONGEST_S;
    k->try_s = now_s + k->wait_s;
}

static void listen_to(ud_health *h, int32_t j, double now_s)
{
    const ud_seat *s = &h->board->seat[j];
    check *k = &h->check[j];

    if (!k->silent) {
        fall_silent(h, k, s, now_s);
    } else if (ud_load(&s->answered_us) != k->answered_us) {
        k->silent = false;
        k->since_us = 0;
    } else if (!h->panic) {
        try_again(h, k, j, now_s);
    }
}

/* ---- who is in --------------------------------------------------------------------------------------------------- */

/* Another client has this index, or has moved: nothing is known of it. */
static void begin(ud_health *h, check *k, int32_t j, const struct sockaddr_in6 *at, double now_s)
{
    double place = fmod(0.618 * j, 1); /* of its probes within the interval */

    memset(k, 0, sizeof *k);
    k->at = *at;
    k->here = k->alive = true;
    k->came_s = now_s;
    k->next_s = now_s + place * h->probe_s;
    k->since_us = ud_load(&h->board->seat[j].unanswered_us);
    k->base = ud_load(&h->board->seat[j].sent);
}

static void look(ud_health *h, const ud_clients *l, double now_s)
{
    int32_t j;

    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        const struct sockaddr_in6 *at = &h->board->seat[j].address;
        check *k = &h->check[j];
        bool same = k->here && k->at.sin6_port == at->sin6_port &&
                    memcmp(&k->at.sin6_addr, &at->sin6_addr, sizeof at->sin6_addr) == 0;
        if (!ud_clients_name(l, j)) k->here = false;
        else if (!same) begin(h, k, j, at, now_s);
    }
}

static bool is_out(const check *k)
{
    return !k->alive || k->silent;
}

static void settle(ud_health *h, const ud_clients *l, int32_t j, rllb_server_state state, double now_s)
{
    const check *k = &h->check[j];
    bool out = is_out(k) && !h->panic, was_out = state == RLLB_SERVER_DOWN;

    if (out == was_out) return;
    rllb_balancer_set_state(h->keeper, j, out ? RLLB_SERVER_DOWN : RLLB_SERVER_UP, now_s);
    if (h->panic) return; /* all of them: one line says so */
    if (!out) ex_warn("%s is up", ud_clients_name(l, j));
    else if (!k->alive) ex_warn("%s is down: no answer to %d probes", ud_clients_name(l, j), (int)k->bad);
    else ex_warn("%s is down: no answer to what was sent for %.1f s", ud_clients_name(l, j), h->silence_s);
}

static void settle_all(ud_health *h, const ud_clients *l, double now_s)
{
    rllb_server_state state[UD_CLIENTS_MOST];
    rllb_server_info info;
    int32_t j, all = 0, out = 0;
    bool panic;

    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        bool there = h->check[j].here && rllb_balancer_server(h->keeper, j, &info) == RLLB_OK;
        state[j] = there ? info.state : RLLB_SERVER_NONE;
        if (state[j] == RLLB_SERVER_NONE || state[j] == RLLB_SERVER_DRAINING) continue;
        all++;
        out += is_out(&h->check[j]);
    }
    panic = all > 0 && out == all;
    if (panic && !h->panic) ex_warn("no client answers: all of them are sent to");
    if (!panic && h->panic) ex_warn("a client answers: who does not is down");
    h->panic = panic;
    for (j = 0; j < UD_CLIENTS_MOST; j++) {
        if (state[j] == RLLB_SERVER_NONE || state[j] == RLLB_SERVER_DRAINING) continue;
        settle(h, l, j, state[j], now_s);
    }
}

bool ud_health_create(const ud_config *c, rllb_balancer *keeper, ud_board *board, ud_health **out)
{
    ud_health *h = calloc(1, sizeof *h);

    *out = NULL;
    if (!h) return ex_fail("not enough memory for health") == EX_OK;
    memcpy(h->probe, c->probe, sizeof h->probe);
    h->probe_s = c->probe_s > 0 ? c->probe_s : 1;
    h->timeout_s = c->probe_timeout_s > 0 ? c->probe_timeout_s : h->probe_s / 2;
    h->rise = c->rise > 0 ? c->rise : 2;
    h->fall = c->fall > 0 ? c->fall : 3;
    h->silence_s = c->replies ? c->silence_s : 0;
    h->keeper = keeper;
    h->board = board;
    h->socket = -1;
    if (c->probe[0] && !socket_open(h)) {
        ud_health_destroy(h);
        return false;
    }
    *out = h;
    return true;
}

void ud_health_destroy(ud_health *h)
{
    if (!h) return;
    if (h->socket >= 0) close(h->socket);
    free(h);
}

void ud_health_turn(ud_health *h, const ud_clients *l, double now_s)
{
    int32_t j;

    if (h->socket < 0 && !(h->silence_s > 0)) return;
    look(h, l, now_s);
    if (h->socket >= 0) probe_all(h, now_s);
    for (j = 0; h->silence_s > 0 && j < UD_CLIENTS_MOST; j++) {
        if (h->check[j].here) listen_to(h, j, now_s);
    }
    settle_all(h, l, now_s);
}
