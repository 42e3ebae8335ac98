/* udp_copy.c - a forwarder that does nothing but copy: what bench/udp.sh holds the UDP allocator against

   Up to 64 datagrams by one recvmmsg, all of them to one fixed address by one sendmmsg through a connected socket. It
   looks at nothing, answers nobody and counts nothing. Linux.

   Build:   cc -std=c99 -O3 bench/udp_copy.c -o build/udp_copy
   Run:     build/udp_copy TO_PORT          on 127.0.0.1
   Prints:  "listening on 127.0.0.1:PORT" */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SLOT = 65536 + 192, BUFFER = 8 << 20 };

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a;

    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_port = htons((unsigned short)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void widen(int fd)
{
    int size = BUFFER;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0) return;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static int copy(int from, int to)
{
    static struct mmsghdr m[BATCH];
    static struct iovec part[BATCH];
    unsigned char *bytes = malloc((size_t)BATCH * SLOT);
    int i, n, sent, at;

    if (!bytes) return 1;
    for (i = 0; i < BATCH; i++) {
        part[i].iov_base = bytes + (size_t)i * SLOT;
        m[i].msg_hdr.msg_iov = &part[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    for (;;) {
        for (i = 0; i < BATCH; i++) part[i].iov_len = 65536;
        n = recvmmsg(from, m, BATCH, MSG_WAITFORONE, NULL);
        for (i = 0; i < n; i++) part[i].iov_len = m[i].msg_len;
        for (at = 0; at < n; at += sent > 0 ? sent : 1) sent = sendmmsg(to, m + at, (unsigned int)(n - at), 0);
    }
}

int main(int argc, char **argv)
{
    int port = argc == 2 ? atoi(argv[1]) : 0;
    struct sockaddr_in here = loopback(0), there = loopback(port);
    socklen_t size = sizeof here;
    int from = socket(AF_INET, SOCK_DGRAM, 0), to = socket(AF_INET, SOCK_DGRAM, 0);

    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: udp_copy TO_PORT\n");
        return 2;
    }
    if (from < 0 || to < 0 || bind(from, (struct sockaddr *)&here, sizeof here) != 0 ||
        getsockname(from, (struct sockaddr *)&here, &size) != 0 ||
        connect(to, (struct sockaddr *)&there, sizeof there) != 0) {
        perror("udp_copy");
        return 1;
    }
    widen(from);
    printf("listening on 127.0.0.1:%d\n", (int)ntohs(here.sin_port));
    fflush(stdout);
    return copy(from, to);
}
