/* traffic.c - datagrams for allocators and their clients: a generator, a sink, and what became of them

   The generator sends when datagrams are due, whether anything comes back or not (an open loop); each carries its
   sender, its number and the moment it was meant to go out, and every delay counts from that moment. When the generator
   is late it sends many with one system call. The sink acts as one or more clients: it counts what was lost, doubled,
   overtaken and damaged on the way, and can answer, compute, or be as slow as a server with a queue.

   Build:   make build/udp/traffic   (Linux)
   Run:     build/udp/traffic --sink 0,0,0 --echo --out out/sink
            build/udp/traffic --to 127.0.0.1:5005 --rate 50000 --senders 16 --replies --out out/sent
            build/udp/traffic --merge out/sent,out/sink
   Prints:  sink: a line `client NAME ADDRESS:PORT` for each, then `ready`; all: what came of it
   Writes:  results.json; seconds.csv, by when datagrams came; sent_at.csv, by when they were meant to go out; and
            datagrams.bin (which numbers of which sender), for --merge

   Clocks are compared: generator and sink must run on one machine for delays to mean anything; counts hold anywhere.
   The parts of this program: traffic_parts.h. */

#include "traffic_parts.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- settings ---------------------------------------------------------------------------------------------------- */

const char *const ut_arrivals_names[] = { "poisson", "even", "trace", NULL };

static ex_program program;

ut_settings ut_set = { .program = &program, .size = "10-150", .host = "127.0.0.1", .senders = 1, .queue = 1000,
                       .buffer_bytes = 4 << 20, .rate = 1000, .linger_s = 1, .every_s = 1, .gro = true, .seed = 1 };

static ex_option options[] = {
    EX_HEADING("Generator"),
    EX_STRING("to", &ut_set.to, "HOST:PORT", "send there"),
    EX_DOUBLE("rate", &ut_set.rate, 0, 1e8, "N", "datagrams a second; 0: as fast as it goes"),
    EX_CHOICE("arrivals", &ut_set.arrivals, ut_arrivals_names, "at random, evenly, or as recorded"),
    EX_STRING("trace", &ut_set.trace, "FILE",
              "when datagrams are sent: times at the file's pace or at --rate, or amounts over time, which are spread "
              "over --duration (see rllb_env.h)"),
    EX_STRING("size", &ut_set.size, "A-B", "bytes of a datagram, uniform; 10 at least, see below"),
    EX_INT("senders", &ut_set.senders, 1, UT_SENDERS_MOST, "N", "source ports; each datagram is of one of them at "
           "random, or in turn if they come evenly"),
    EX_DOUBLE("life", &ut_set.life_s, 0, 1e6, "S", "a sender takes a new source port so often: another flow; 0: never"),
    EX_INT64("count", &ut_set.count, 0, 1e15, "N", "so many datagrams, then ends; 0: as many as come"),
    EX_FLAG("replies", &ut_set.replies, "count answers, and their delay"),
    EX_DOUBLE("linger", &ut_set.linger_s, 0, 1000, "S",
              "--replies: wait so long for the last ones, or until all are there"),
    EX_FLAG("spin", &ut_set.spin, "never sleep between two datagrams: takes a whole processor, is late the least"),
    EX_INT("sender-from", &ut_set.sender_from, 0, UT_SENDERS_MOST - 1, "N",
           "number of the first sender, for several generators"),
    EX_SEED("seed", &ut_set.seed, "of times, sizes and senders"),
    EX_HEADING("Sink"),
    EX_STRING("sink", &ut_set.sink, "PORT,...", "receive there, one client for each; 0: the kernel chooses"),
    EX_STRING("host", &ut_set.host, "ADDRESS", "where to listen"),
    EX_STRING("names", &ut_set.names, "NAME,...", "of the clients; default c0,c1,..."),
    EX_FLAG("echo", &ut_set.echo, "answer: every datagram goes back as it came, after its work"),
    EX_DOUBLE("work", &ut_set.work_us, 0, 1e7, "US",
              "microseconds that each datagram takes a client, one after the other"),
    EX_FLAG("cpu", &ut_set.cpu, "--work: compute so long, instead of waiting"),
    EX_STRING("serve", &ut_set.serve, "NxMS", "a client that works on N datagrams at a time, MS milliseconds each"),
    EX_INT("queue", &ut_set.queue, 0, 10000000, "N", "and has so many more wait; what comes then is turned away"),
    EX_INT("buffer", &ut_set.buffer_bytes, 4096, 1 << 30, "BYTES", "receive buffer of a socket"),
    EX_FLAG("gro", &ut_set.gro,
            "let the kernel hand over datagrams joined (UDP_GRO), where it can; --gro=no: one by one"),
    EX_DOUBLE("idle", &ut_set.idle_s, 0, 1e6, "S", "end when nothing has come for so long, after the first; 0: never"),
    EX_DOUBLE("watch", &ut_set.watch_s, 0, 1e6, "S", "a line for every client so often (see below); 0: none"),
    EX_HEADING("Both"),
    EX_DOUBLE("duration", &ut_set.duration_s, 0, 1e7, "S",
              "how long; default: generator 10, or as long as the trace; sink until SIGTERM or Ctrl-C"),
    EX_DOUBLE("every", &ut_set.every_s, 0.05, 3600, "S", "length of the intervals of seconds.csv and sent_at.csv"),
    EX_STRING("out", &ut_set.out, "DIR", "folder for the results; default: none are written"),
    EX_FLAG("quiet", &ut_set.quiet, "no progress, no table"),
    EX_HEADING("Afterwards"),
    EX_STRING("merge", &ut_set.merge, "DIR,DIR,...", "results of a generator and of all sinks: what was lost between"),
};

static ex_program program = {
    .name = "traffic",
    .summary = "datagrams, open loop: a generator, and a sink that counts loss, doubles, order and delay",
    .details =
        "A datagram of 16 bytes or more carries magic (2 bytes), sender (2), number (4) and the intended send time in\n"
        "ns (8). A shorter one has one byte of magic, sender, number, and of the time in us the last 3 bytes: delays\n"
        "are then known to the microsecond and without whole multiples of 16.8 s, and one stray datagram in 256 is\n"
        "taken for ours. The rest is padding that tells size and number: what was cut or mixed up is found.\n"
        "\n"
        "received = unique + duplicates + damaged holds for every client. Reordered: a lower number than one that the\n"
        "same client had from the same sender. Strangers are not ours; with --echo they are answered at once.\n"
        "Dropped: by the kernel, for want of buffer. Turned away: by --queue.\n"
        "A sink knows of what is lost only where a later number of that sender came (gaps); --merge knows all.\n"
        "\n"
        "--watch: NAME, seconds of the monotonic clock, received, bytes in, bytes out, all so far, and since the last\n"
        "line P50 and P99 of the delay in ms.\n"
        "\n"
        "With many senders each system call carries few datagrams: at full speed take a few.\n",
    .options = options,
    .option_count = EX_COUNT(options),
};

/* ---- what both sides need ---------------------------------------------------------------------------------------- */

int ut_place_of(const char *option, const char *text, ut_place *out)
{
    const char *colon = strrchr(text, ':');
    struct addrinfo hints, *found = NULL;
    char name[256], *inside = name;
    int64_t port = 0;
    size_t length = colon ? (size_t)(colon - text) : 0;

    if (!colon || length == 0 || length >= sizeof name || !ex_parse_int64(colon + 1, &port) || port < 1 ||
        port > 65535) {
        return ex_usage(option, "'%.80s' is not HOST:PORT", text);
    }
    memcpy(name, text, length);
    name[length] = '\0';
    if (name[0] == '[' && name[length - 1] == ']') {
        name[length - 1] = '\0';
        inside++;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    if (getaddrinfo(inside, colon + 1, &hints, &found) != 0 || !found) {
        return ex_usage(option, "'%.80s' is no address that can be found", inside);
    }
    memcpy(&out->address, found->ai_addr, found->ai_addrlen);
    out->size = found->ai_addrlen;
    freeaddrinfo(found);
    return EX_GO_ON;
}

void ut_name_of(int fd, char text[64])
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    char name[48] = "?", port[16] = "0";
    bool six;

    memset(&a, 0, sizeof a);
    getsockname(fd, (struct sockaddr *)&a, &size);
    getnameinfo((struct sockaddr *)&a, size, name, sizeof name, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    six = a.ss_family == AF_INET6;
    snprintf(text, 64, "%s%.45s%s:%.6s", six ? "[" : "", name, six ? "]" : "", port);
}

bool ut_name_take(const char **at, char *name, size_t room)
{
    size_t length = *at ? strcspn(*at, ",") : 0;

    if (length == 0 || length >= room) return false;
    memcpy(name, *at, length);
    name[length] = '\0';
    *at = (*at)[length] ? *at + length + 1 : NULL;
    return true;
}

void ut_prepare(void)
{
    struct rlimit most;

    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (getrlimit(RLIMIT_NOFILE, &most) != 0) return;
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    int status = ex_options_parse(&program, argc, argv);
    ex_lock lock = { -1 };

    if (status != EX_GO_ON) return status;
    if ((ut_set.to != NULL) + (ut_set.sink != NULL) + (ut_set.merge != NULL) != 1) {
        return ex_usage("to", "one of --to, --sink and --merge says what to do");
    }
    if (ut_set.merge) return ut_merge();
    ex_catch_interrupts();
    if (ut_set.out && !ex_folder_lock(ut_set.out, &lock)) return EX_FAILED;
    status = ut_set.to ? ut_send() : ut_receive();
    if (ut_set.out) ex_folder_unlock(&lock);
    return status;
}
