"""Hostile clients and servers against build/http/proxy; run by http_hostile.sh. Standard library only.
Four proxies: two before real backends, one before a server that writes down what reaches it, one before a server that
answers wrongly. One of the first two has little patience, and slow clients; nothing else depends on a clock, and what
should happen is waited for. All ports are the kernel's choice, all processes end with this one."""

import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

HEAD_S, IDLE_S = 0.8, 1.2  # of the proxy with little patience
PATIENT_S = 300
WAIT_S = 60.0  # for what should happen
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
passed = failed = 0
counting = threading.Lock()


def check(ok, what):
    global passed, failed
    with counting:
        if ok:
            passed += 1
        else:
            failed += 1
            print("FAILED " + what, flush=True)


# ---- the other side -------------------------------------------------------------------------------------------------

class Program:
    """A process of ours; lines of its output that name ports are found by a pattern."""

    all = []

    def __init__(self, pattern, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL)
        Program.all.append(self)
        self.said, self.ports = "", []
        while True:
            line = self.process.stdout.readline().decode()
            self.said += line
            found = re.match(pattern, line)
            if found:
                self.ports.append(int(found.group(1)))
            if not line or line.startswith("ready") or line.startswith("admin on "):
                break
        self.reader = threading.Thread(target=self.drain, daemon=True)
        self.reader.start()

    def drain(self):
        for line in self.process.stdout:
            self.said += line.decode(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def rss_mb(self):
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
                return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1)) / 1024
        except (OSError, AttributeError):
            return 0.0

    def end(self):
        """Its exit status after SIGTERM; None: it had to be killed."""
        if self.alive():
            self.process.terminate()
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


def proxy(servers, head_s, idle_s, *options):
    command = ["build/http/proxy", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
               f"--timeouts=head={head_s} idle={idle_s} connect=60 response={PATIENT_S} drain=1",
               "--limits=head=4k target=1k headers=20 body=64k"]
    for i, port in enumerate(servers):
        command.append(f"--server=s{i} 127.0.0.1:{port}")
    return Program(r"listening on .*:(\d+)$", *command, *options)


class Server:
    """Writes down each request that reaches it, as strictly as it can be read, and answers by its target."""

    def __init__(self, answer):
        self.answer, self.seen, self.wrong = answer, [], []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        reader = s.makefile("rb")
        try:
            while self.request(s, reader):
                pass
        except (OSError, ValueError) as e:
            if isinstance(e, ValueError):
                self.wrong.append(str(e))
        s.close()

    def line(self, reader):
        line = reader.readline(65536)
        if line and (not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line):
            raise ValueError(f"a line that is none: {line!r}")
        return line[:-2]

    def request(self, s, reader):
        first = self.line(reader)
        if not first:
            return False
        if not re.fullmatch(rb"[A-Z-]+ [!-~]+ HTTP/1\.1", first):
            raise ValueError(f"a first line that is none: {first!r}")
        headers, body = [], b""
        while True:
            line = self.line(reader)
            if not line:
                break
            if not re.fullmatch(rb"[A-Za-z0-9-]+: [^\x00-\x08\x0a-\x1f\x7f]*", line):
                raise ValueError(f"a header that is none: {line!r}")
            headers.append(tuple(line.split(b": ", 1)))
        names = [n.lower() for n, _ in headers]
        if names.count(b"host") != 1 or names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            raise ValueError(f"two readings: {headers!r}")
        of = dict(zip(names, [v for _, v in headers]))
        if b"transfer-encoding" in of:
            while True:
                size = int(self.line(reader), 16)
                if size:
                    body += reader.read(size)
                if self.line(reader) != b"":
                    raise ValueError("a chunk that does not end")
                if not size:
                    break
        elif b"content-length" in of:
            body = reader.read(int(of[b"content-length"]))
        self.seen.append((first, of, body))
        s.sendall(self.answer(first.split()[1], of, body))
        return True


def text(body, head=b"HTTP/1.1 200 OK"):
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


# ---- clients --------------------------------------------------------------------------------------------------------

def connect(port, timeout=WAIT_S):
    s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def all_of(s):
    """Everything until the other side closes; the second is False if it never did."""
    got = b""
    try:
        while True:
            part = s.recv(1 << 16)
            if not part:
                return got, True
            got += part
    except socket.timeout:
        return got, False
    except OSError:
        return got, True


def statuses(got):
    """Of each answer, by lengths; the proxy's own and the servers' here all have one."""
    found, at = [], 0
    while True:
        end = got.find(b"\r\n\r\n", at)
        first = re.match(rb"HTTP/1\.1 (\d{3}) ", got[at:at + 16])
        if end < 0 or not first:
            return found if at == len(got) else found + [-1]
        status = int(first.group(1))
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", got[at:end + 2].lower())
        if status >= 200:
            found.append(status)
        at = end + 4 + (int(length.group(1)) if length else 0)


def ask(port, data, wait_s=None):
    """What comes back, and whether the other side closed. If nothing does by wait_s, ours says that it says no more."""
    s = connect(port)
    try:
        s.sendall(data)
        if wait_s and not select.select([s], [], [], wait_s)[0]:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    got, closed = all_of(s)
    s.close()
    return got, closed


class GoodClient(threading.Thread):
    """Asks again and again on one connection; must be answered 200 each time. Only where the machine was so busy that
    the proxy's patience was over, it comes again, as clients do."""

    def __init__(self, port, target, patience_s):
        super().__init__(daemon=True)
        self.port, self.patience_s, self.ok, self.bad, self.go_on = port, patience_s, 0, [], True
        self.request = b"GET " + target + b" HTTP/1.1\r\nHost: good\r\n\r\n"

    def run(self):
        heard = time.monotonic()
        s = connect(self.port)
        while self.go_on:
            got = b""
            try:
                s.sendall(self.request)
                while b"\r\n\r\n" not in got or statuses(got)[-1:] == [-1]:
                    part = s.recv(1 << 16)
                    if not part:
                        break
                    got += part
            except OSError as e:
                got += repr(e).encode()
            if statuses(got) == [200]:
                self.ok += 1
                heard = time.monotonic()
            else:
                if time.monotonic() - heard < 0.9 * self.patience_s:
                    self.bad.append(got[:80])
                s.close()
                heard = time.monotonic()
                s = connect(self.port)
            time.sleep(0.01)
        s.close()

    def is_served(self, when):
        """Five answers more, and nothing else."""
        least, end_s = self.ok + 5, time.monotonic() + WAIT_S
        while self.ok < least and not self.bad and time.monotonic() < end_s:
            time.sleep(0.005)
        check(self.ok >= least and not self.bad, f"a good client {when}: {self.ok} answered, others {self.bad[:3]}")

    def end(self):
        self.go_on = False
        self.join(WAIT_S)
        check(not self.bad, f"a good client: {self.ok} answered, others {self.bad[:3]}")


# ---- what is refused ------------------------------------------------------------------------------------------------

REFUSED = [
    ("two lengths", POST + b"Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc", 400),
    ("the same length twice", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("a list of lengths", POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    ("a signed length", POST + b"Content-Length: +3\r\n\r\nabc", 400),
    ("a length too large to be one", POST + b"Content-Length: 18446744073709551619\r\n\r\nabc", 413),
    ("a blank before the colon", POST + b"Content-Length : 3\r\n\r\nabc", 400),
    ("length and chunks", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunks and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    ("two codings", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    ("gzip before chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("almost chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    ("chunked behind a control character", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked, folded", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunks in HTTP/1.0", b"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("a chunk longer than it says", CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n", 400),
    ("a chunk ended by other bytes", CHUNKED + b"3\r\nabcXX0\r\n\r\n", 400),
    ("a chunk's line ended by LF", CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    ("LF in an extension", CHUNKED + b"3;a\nxx\r\nabc\r\n0\r\n\r\n", 400),
    ("a negative chunk", CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    ("a chunk of 0x3", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    ("a chunk with a blank", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    ("a chunk beyond 64 bits", CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n", 413),
    ("a chunk of 2^64 - 1", CHUNKED + b"FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", 413),
    ("a folded trailer", CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", 400),
    ("bare LF", b"GET /p HTTP/1.1\nHost: a\n\n", 400),
    ("bare LF at the end", b"GET /p HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("bare CR", b"GET /p HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("a folded line", b"GET /p HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    ("NUL", b"GET /p HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("a header without a name", b"GET /p HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    ("no host", b"GET /p HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /p HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a host with a path", b"GET /p HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400),
    ("a target with a blank", b"GET /p q HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a target of another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a user in the target", b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("HTTP/0.9", b"GET /p\r\n", 400),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
    ("TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("an unknown method", b"BREW /p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("an odd expectation", POST + b"Expect: tea\r\nContent-Length: 3\r\n\r\nabc", 417),
    ("a target too long", b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("too many headers", b"GET /p HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 25 + b"\r\n", 431),
    ("a head too large", b"GET /p HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n", 431),
    ("a body too large", POST + b"Content-Length: 65537\r\n\r\n", 413),
    ("a body of a gigabyte", POST + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 200000, 413),
    ("chunks too large together", CHUNKED + b"8000\r\n" + b"x" * 32768 + b"\r\n8001\r\n", 413),
]


def refused(port, server):
    """Each is answered once and the connection closed, and nothing behind it is taken for a request."""
    for name, data, status in REFUSED:
        before = len(server.seen)
        got, closed = ask(port, data + NEXT)
        found = statuses(got)
        check(found == [status] and closed, f"{name}: {found}, closed {closed}, should be {status}: {got[:80]}")
        seen = [s for s in server.seen[before:] if s[0] != b"GET /good HTTP/1.1"]
        check(all(s[0].split()[1] == b"/p" for s in seen), f"{name}: a server saw {seen}")
    check(not any(b"smuggled" in s[0] for s in server.seen), "nothing was smuggled in")


def taken(port, server):
    """Odd but well-formed ones: what the server sees is what was meant, in order, and one answer comes for each."""
    line = (CHUNKED + b"3;x=\"y\"\r\nabc\r\n0b\r\nhello world\r\n0\r\nX-Trailer: y\r\nContent-Length: 99\r\n\r\n"
            + POST + b"Content-Length: 38\r\n\r\n" + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n"[:38].ljust(38)
            + b"\r\nGET http://b/q HTTP/1.1\r\nHost: a\r\nConnection: host, x-secret, content-length, "
            b"x-forwarded-for\r\nX-Secret: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 8.8.8.8\r\n"
            b"Upgrade: h2c\r\nTE: trailers\r\nProxy: http://evil/\r\n\r\n"
            b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    before = len(server.seen)
    got, closed = ask(port, line + NEXT)
    seen = [s for s in server.seen[before:] if s[0] != b"GET /good HTTP/1.1"]
    check(statuses(got) == [200] * 4 and closed, f"four well-formed ones: {statuses(got)}")
    check([s[0].split()[1] for s in seen] == [b"/p", b"/p", b"/q", b"/last"], f"they arrive in order: {seen}")
    if len(seen) != 4:
        return
    check(seen[0][2] == b"abchello world", f"chunks: {seen[0]}")
    check(seen[1][2].startswith(b"GET /smuggled") and len(seen[1][2]) == 38, f"a body like a request: {seen[1]}")
    headers = seen[2][1]
    check(headers[b"host"] == b"b", f"the target's host: {headers}")
    check(headers[b"x-forwarded-for"] == b"9.9.9.9, 127.0.0.1", f"the chain of addresses: {headers}")
    for name in (b"x-secret", b"x_forwarded_for", b"upgrade", b"te", b"proxy", b"connection"):
        check(name not in headers, f"{name.decode()} is not passed on: {headers}")


def in_pieces(port, server):
    """The same bytes one by one: refused alike."""
    for name, data, status in REFUSED[:20]:
        s = connect(port)
        try:
            for i in range(len(data)):
                s.sendall(data[i:i + 1])
        except OSError:
            pass
        got, closed = all_of(s)
        s.close()
        check(statuses(got) in ([status], []) and closed, f"{name}, byte by byte: {statuses(got)}, should be {status}")
    check(not server.wrong, f"the server reads each of them well: {server.wrong[:3]}")


# ---- slow, huge, many -----------------------------------------------------------------------------------------------

def slow(port, first, data, least_s, name):
    """Sends something, then byte after byte, then nothing; the connection must be closed, and not before its time. All
    the bytes would last for longer than is waited."""
    start, s = time.monotonic(), connect(port)
    s.sendall(first)
    s.settimeout(0.05 if data else 1)
    closed = False
    got = b""
    at = 0
    while not closed and time.monotonic() - start < WAIT_S:
        try:
            if at < len(data):
                s.sendall(data[at:at + 1])
                at += 1
            part = s.recv(4096)
            closed = not part
            got += part
        except socket.timeout:
            pass
        except OSError:
            closed = True
    s.close()
    took = time.monotonic() - start
    check(closed and took > least_s - 0.01, f"{name}: closed {closed} after {took:.1f} s, should be {least_s} s")
    check(statuses(got) in ([], [408]), f"{name}: {got[:60]}")


def slow_ones(port):
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 2000
    threads = []
    for i in range(10):
        threads.append((b"", head, HEAD_S, f"a head byte by byte, {i}"))
        threads.append((b"", b"", IDLE_S, f"no byte at all, {i}"))
        threads.append((POST + b"Content-Length: 60000\r\n\r\nab", b"", IDLE_S, f"a body that stops, {i}"))
        threads.append((CHUNKED + b"5", b"", IDLE_S, f"a chunk that does not come, {i}"))
    threads = [threading.Thread(target=slow, args=(port, *t)) for t in threads]
    for t in threads:
        t.start()
    return threads


def endless(port, start, more, statuses_wanted, name):
    """Sends without end; is told so, and cut off."""
    s, start_s, closed = connect(port), time.monotonic(), False
    try:
        s.sendall(start)
        while time.monotonic() - start_s < WAIT_S:
            s.sendall(more)
            time.sleep(0.002)
    except OSError:
        closed = True
    took = time.monotonic() - start_s
    got = all_of(s)[0]
    s.close()
    check(closed, f"{name}: not closed after {took:.1f} s")
    check(statuses(got) in [[w] for w in statuses_wanted] + [[]], f"{name}: {statuses(got)}")


def deaf(port):
    """Ask for much and read nothing. The sockets stay open until the caller closes them."""
    sockets = []
    for _ in range(20):
        s = connect(port)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 4)
        sockets.append(s)
    return sockets


def pipelined(port, count):
    s = connect(port)
    data = b"GET /pipe HTTP/1.1\r\nHost: a\r\n\r\n" * (count - 1)
    data += b"GET /pipe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    sender = threading.Thread(target=s.sendall, args=(data,), daemon=True)
    sender.start()
    time.sleep(0.2)  # nothing is read at first
    got, closed = all_of(s)
    sender.join(WAIT_S)
    s.close()
    check(statuses(got) == [200] * count and closed, f"{count} at once: {len(statuses(got))} answers")


def broken_off(port):
    """Connections that are reset in the middle of a request, or of its answer."""
    linger = struct.pack("ii", 1, 0)
    for i in range(40):
        s = connect(port)
        s.sendall([b"GET / HT", POST + b"Content-Length: 9\r\n\r\nabc", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                   CHUNKED + b"5\r\nab"][i % 4])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        s.close()
    got, _ = ask(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    check(statuses(got) == [200], f"after those that were broken off: {got[:60]}")


def garbage(port, seed):
    rng = random.Random(seed)
    words = [b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"Host: a", b"\n", b"Content-Length: ", b"5", b"\0", b": ",
             b"chunked", b"Transfer-Encoding: ", b"\r\n\r\n", b"\xff", b" ", b"POST "]
    odd = []
    for i in range(60):
        data = rng.randbytes(200) if i % 2 else b"".join(rng.choice(words) for _ in range(30))
        got, closed = ask(port, data + b"\r\n\r\n", 0.1)  # it may look like a body that is to come
        found = statuses(got)
        if not closed or -1 in found or any(s < 400 and s != 200 for s in found):
            odd.append((data, got))
    check(not odd, f"garbage: {odd[:1]}")


def flood(port, good):
    """More connections than are taken in at once: others wait, those inside go on, and when these end all is well."""
    sockets = [connect(port) for _ in range(150)]
    good.is_served("beside a flood")
    for s in sockets:
        s.close()
    for _ in range(10):
        start_s = time.monotonic()
        got, _ = ask(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        if statuses(got) == [200] or time.monotonic() - start_s < 0.9 * HEAD_S:
            break  # else this process had no processor, and was taken for a slow client
    check(statuses(got) == [200], f"after the flood: {got[:60]}")


# ---- who decides where it goes --------------------------------------------------------------------------------------

def server_of(port, headers):
    got, _ = ask(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + headers + b"\r\n")
    found = re.search(rb"\r\nX-Server: (\S+)", got)
    return found.group(1) if found else got[:40]


def steering(port):
    """The key that was configured decides, and no other header does."""
    tries = [b"X-Server: s2\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"Cookie: server=s2; SERVERID=s2; X-Key=other\r\n",
             b"X_Key: other\r\n", b"X-Keys: other\r\n", b"X-Backend: 127.0.0.1:1\r\n", b"Forwarded: for=9.9.9.9\r\n",
             b"Via: 1.1 s2\r\n", b"Connection: X-Other\r\nX-Other: x\r\n"]
    homes = {}
    for key in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"):
        homes[key] = server_of(port, b"X-Key: " + key + b"\r\n")
        for extra in tries:
            there = server_of(port, extra + b"X-Key: " + key + b"\r\n")
            check(there == homes[key], f"key {key}, {extra}: goes to {there}, alone to {homes[key]}")
    check(len(set(homes.values())) > 1, f"keys are spread: {homes}")


# ---- servers that mean ill ------------------------------------------------------------------------------------------

EVIL = {
    b"/split": b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
    b"/cr": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
    b"/nul": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    b"/fold": b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
    b"/lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 200\r\n\r\nok",
    b"/both": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"/chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    b"/coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    b"/switch": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n",
    b"/none": b"<html>no header at all</html>\r\n",
    b"/status": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    b"/huge": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000 + b"\r\nContent-Length: 2\r\n\r\nok",
    b"/interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 200 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


def evil(port):
    for target, answer in EVIL.items():
        got, _ = ask(port, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        check(statuses(got) in ([502], [503]) and b"evil" not in got, f"a server's {answer[:60]}: {got[:60]}")
    # An answer that nobody asked for does not go to the next one who asks.
    for i in range(20):
        got, _ = ask(port, b"GET /twice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        check(b"poison" not in got, f"an answer that nobody asked for: {got[:200]}")
        got, _ = ask(port, b"GET /mine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        check(b"poison" not in got, f"an answer that nobody asked for, to the next: {got[:200]}")


def evil_answer(target, _headers, _body):
    if target == b"/twice":
        return text(b"first") + text(b"poison")
    return EVIL.get(target, text(b"mine"))


def note(target, _headers, _body):
    return text(b"x" * (4 << 20)) if target == b"/big" else text(target)


def main():
    backend = Program(r"server \S+ .*:(\d+)$", "build/http/backend", "--servers", "3x16", "--for", "270")
    notes, wrong = Server(note), Server(evil_answer)
    quick = proxy(backend.ports, HEAD_S, IDLE_S, "--clients=120")
    real = proxy(backend.ports, PATIENT_S, PATIENT_S, "--policy=maglev", "--key=header X-Key")
    noted = proxy([notes.port], PATIENT_S, PATIENT_S)
    ill = proxy([wrong.port], PATIENT_S, PATIENT_S, "--retries=0")
    all_proxies = {"quick": quick, "real": real, "noted": noted, "ill": ill}
    for name, p in all_proxies.items():
        check(len(p.ports) == 1, f"{name} starts: {p.said}")
    if failed:
        return
    good = [GoodClient(quick.ports[0], b"/", HEAD_S), GoodClient(noted.ports[0], b"/good", PATIENT_S)]
    for g in good:
        g.start()
    before = {name: p.rss_mb() for name, p in all_proxies.items()}
    slowly = slow_ones(quick.ports[0])
    good[0].is_served("beside slow ones")
    refused(noted.ports[0], notes)
    taken(noted.ports[0], notes)
    good[1].is_served("beside smugglers")
    in_pieces(noted.ports[0], notes)
    deaf_ones = deaf(noted.ports[0])
    endless(noted.ports[0], b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y" * 65536, [431], "a header without end")
    endless(noted.ports[0], b"", b"GET " * 16384, [400, 414], "a first line without end")
    endless(noted.ports[0], CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n", [413], "chunks without end")
    endless(noted.ports[0], CHUNKED + b"1;", b"x" * 65536, [400], "an extension without end")
    good[1].is_served("beside deaf and endless ones")
    steering(real.ports[0])
    evil(ill.ports[0])
    garbage(noted.ports[0], 1)
    broken_off(noted.ports[0])
    pipelined(real.ports[0], 3000)
    grown = {name: p.rss_mb() - before[name] for name, p in all_proxies.items()}
    for s in deaf_ones:
        s.close()
    check(max(grown.values()) < 40, f"memory grew, in MB: {grown}")
    for t in slowly:
        t.join(2 * WAIT_S)
    flood(quick.ports[0], good[0])
    for g in good:
        g.end()
    check(not notes.wrong, f"what reached the server: {notes.wrong[:3]}")
    check(not any(b"smuggled" in s[0] for s in notes.seen), "nothing was smuggled in, to the end")
    for name, p in all_proxies.items():
        check(p.alive(), f"{name} is alive: {p.said[-300:]}")
        status = p.end()
        check(status == 0, f"{name} ends with {status}: {p.said[-600:]}")
    print(f"{good[0].ok} and {good[1].ok} good answers; memory +{max(grown.values()):.1f} MB")


try:
    main()
except OSError as error:
    check(False, repr(error))
finally:
    for program in Program.all:
        program.end()
print(f"{passed} passed, {failed} failed", flush=True)
os._exit(1 if failed else 0)
