"""Drives build/udp/allocator between sockets of its own. Run by udp_allocator.sh; standard library only.

Prints a line for each check: "ok NAME" or "FAILED NAME: what"."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

PROGRAM, WORK = sys.argv[1], sys.argv[2]


def check(name, ok, words=""):
    print(f"ok {name}" if ok else f"FAILED {name}: {words}", flush=True)


def peer(address="127.0.0.1"):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((address, 0))
    s.setblocking(False)
    return s


def port_of(s):
    return s.getsockname()[1]


class Allocator:
    def __init__(self, clients, *options):
        self.status_file = os.path.join(WORK, "status")
        if os.path.exists(self.status_file):  # of the one before
            os.remove(self.status_file)
        who = ",".join(f"c{i}=127.0.0.1:{port_of(c)}" for i, c in enumerate(clients))
        self.process = subprocess.Popen([PROGRAM, "--clients", who, "--status", self.status_file, *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"listening on [0-9.]+:(\d+)\n$", line)
        if not found:
            self.process.kill()
            raise SystemExit(f"FAILED start: says {line!r} {self.process.stderr.read()}")
        self.at = ("127.0.0.1", int(found.group(1)))

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        self.out, self.err = out, err
        return self.process.returncode

    def counted(self, name):
        with open(self.status_file, encoding="utf-8") as f:
            found = re.search(r"^rllb_udp_" + re.escape(name) + r" (\d+)$", f.read(), re.M)
        return int(found.group(1)) if found else -1

    def await_counted(self, name, number):
        """Until the status file, written each second, says so many."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if self.counted(name) >= number:
                    return
            except FileNotFoundError:
                pass
            time.sleep(0.02)


def hear(sockets, count, seconds=60.0, echo=False):
    """What came, as (index of the socket, data, from), until so many are there or time is up."""
    got, until = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < until:
        for s in select.select(sockets, [], [], 0.05)[0]:
            try:
                while True:
                    data, who = s.recvfrom(65536)
                    got.append((sockets.index(s), data, who))
                    if echo:
                        s.sendto(data, who)
            except BlockingIOError:
                pass
    return got


def where(clients, senders, allocator, rounds=3):
    """Which client each sender's datagrams reach, as sets."""
    out = [set() for _ in senders]
    for r in range(rounds):
        for i, s in enumerate(senders):
            s.sendto(b"%d %d" % (i, r), allocator.at)
        for client, data, _ in hear(clients, len(senders)):
            out[int(data.split()[0])].add(client)
    return out


def sticky_and_killed():
    clients, senders = [peer() for _ in range(3)], [peer() for _ in range(30)]
    a = Allocator(clients, "--policy", "maglev", "--seed", "5")
    before = where(clients, senders, a)
    check("sticky: one client for each sender", all(len(w) == 1 for w in before), before)
    check("sticky: every client has some", set.union(*before) == {0, 1, 2}, before)
    a.end(signal.SIGKILL)
    b = Allocator(clients, "--policy", "maglev", "--seed", "5")
    check("killed and again: every sender finds its client", where(clients, senders, b) == before)
    check("SIGTERM: ends well", b.end() == 0, b.err)
    check("SIGTERM: says what passed", "received 90, sent 90, returned 0" in b.out, b.out)
    check("status: the last one is whole", b.counted("received_total") == 90 and b.counted("sent_total") == 90)
    check("status: nothing half-written", not os.path.exists(b.status_file + ".part"))
    a = Allocator(clients, "--policy", "maglev", "--seed", "6")
    check("another seed spreads otherwise", where(clients, senders, a) != before)
    a.end()


def per_datagram():
    clients, sender = [peer() for _ in range(3)], peer()
    a = Allocator(clients, "--sticky", "datagram", "--policy", "round_robin", "--replies=no")
    for i in range(300):
        sender.sendto(b"%d" % i, a.at)
    got = hear(clients, 300)
    shares = [sum(g[0] == i for g in got) for i in range(3)]
    check("per datagram: in turn", shares == [100, 100, 100], shares)
    check("per datagram: by one socket", len({g[2] for g in got}) == 1)
    a.process.send_signal(signal.SIGHUP)
    sender.sendto(b"x", a.at)
    check("SIGHUP: goes on", len(hear(clients, 1)) == 1)
    a.end()


def replies():
    clients, senders, stranger = [peer() for _ in range(2)], [peer() for _ in range(20)], peer()
    a = Allocator(clients, "--sticky", "flow")
    for i, s in enumerate(senders):
        s.sendto(b"mine %d" % i, a.at)
    got = hear(clients, 20, echo=True)
    back = hear(senders, 20)
    check("replies: each to its sender", sorted((i, d) for i, d, _ in back) ==
          sorted((i, b"mine %d" % i) for i in range(20)), back)
    check("replies: from the port that was asked", {g[2] for g in back} == {a.at})
    check("replies: a port for each sender", len({g[2] for g in got}) == 20)
    stranger.sendto(b"spoofed", got[0][2])
    clients[0].sendto(b"true", got[0][2])
    back = hear(senders, 1)
    check("strangers: not passed on", [d for _, d, _ in back] == [b"true"], back)
    for size in (0, 1, 9000, 65507):
        senders[0].sendto(b"z" * size, a.at)
        got = hear(clients, 1, echo=True)
        check(f"{size} bytes there", [len(g[1]) for g in got] == [size], [len(g[1]) for g in got])
        got = hear(senders[:1], 1)
        check(f"{size} bytes back", [len(g[1]) for g in got] == [size], [len(g[1]) for g in got])
    a.end()
    check("strangers: counted", a.counted("strangers_total") == 1)
    check("replies: counted", a.counted('client_replies_total{client="c0"}') +
          a.counted('client_replies_total{client="c1"}') == a.counted("returned_total") == 25)


def all_addresses():
    """Asked at any address of the machine, it answers from that one."""
    clients, sender = [peer()], peer("127.0.0.9")
    a = Allocator(clients, "--listen", "0.0.0.0:0")
    for address in ("127.0.0.5", "127.0.0.1"):
        for i in range(2):
            sender.sendto(b"%d" % i, (address, a.at[1]))
        hear(clients, 2, echo=True)
        back = hear([sender], 2)
        check(f"all addresses: {address}", [w for _, _, w in back] == [(address, a.at[1])] * 2, back)
    a.end()


def client_goes():
    """Round by round: the next begins when this one has come, or when it will not."""
    clients, senders = [peer() for _ in range(3)], [peer() for _ in range(20)]
    a = Allocator(clients)
    sent, got = 0, []
    for r in range(60):
        if r == 20:
            clients.pop().close()
        for s in senders:
            s.sendto(b"%d" % sent, a.at)
            sent += 1
        got += hear(clients, 20, 60 if r < 20 else 2, echo=True)
        hear(senders, 1, 0)
    seen = {int(d) for _, d, _ in got}
    check("a client goes: nothing was lost before", set(range(400)) <= seen, f"{len(seen)} seen")
    # A third of a round or two went to the client that was closed; what was not sent anew is lost.
    lost = len(set(range(400, sent)) - seen)
    check("a client goes: few datagrams are lost", lost <= 20, f"{lost} of {sent - 400}")
    check("a client goes: the last rounds are whole", set(range(sent - 400, sent)) <= seen)
    a.end()
    check("a client goes: it refused", a.counted('client_refused_total{client="c2"}') >= 1)


def flood():
    """Fifty strangers at a time, and one who sends all the time."""
    clients, steady = [peer()], peer()
    a = Allocator(clients, "--flows", "64")

    def resident():
        with open(f"/proc/{a.process.pid}/status", encoding="utf-8") as f:
            return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1))
    before, came = None, 0
    for i in range(3000):
        s = peer(f"127.{1 + i // 250}.{i % 250}.9")
        s.sendto(b"flood", a.at)
        s.close()
        if i % 50 == 49:
            steady.sendto(b"steady", a.at)
            came += sum(d == b"steady" for _, d, _ in hear(clients, 51))
        if i == 500:
            before = resident()
    after = resident()
    check("flood: who sends all the time is served", came == 60, came)
    check("flood: nothing grows", after - before < 1024, f"{before} to {after} KB")
    a.end()
    check("flood: senders made room", a.counted("no_room_total") >= 2900, a.counted("no_room_total"))
    check("flood: all were sent", a.counted("sent_total") == 3060, a.counted("sent_total"))


def nothing_there():
    clients = [peer()]
    a = Allocator(clients)
    clients[0].close()
    sender = peer()
    for _ in range(50):
        sender.sendto(b"x", a.at)
        time.sleep(0.002)
    a.await_counted("received_total", 50)
    check("all clients gone: it lives", a.process.poll() is None)
    check("all clients gone: it ends well", a.end() == 0, a.err)
    check("all clients gone: counted", a.counted("received_total") == 50)


for test in (sticky_and_killed, per_datagram, replies, all_addresses, client_goes, flood, nothing_there):
    test()
