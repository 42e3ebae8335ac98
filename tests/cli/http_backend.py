"""What build/http/backend answers, its slots, faults and counters; run by http_backend.sh. Standard library only.
http_backend.py PORT,PORT,PORT,PORT ADMIN FOLDER PORT ADMIN: of a backend with --servers 2x2,1@0.5,1 --name web --bytes
6 --waiting 2 --delay 0,0,0,600000, and of one with --servers 2 --sharing. The last line counts.

What shows depends on no clock: work of hours is never done, and what should happen is waited for."""

import json
import select
import socket
import subprocess
import sys
import time

WAIT_S = 60.0  # for what should happen
HOURS = 10000000  # of work, in ms
passed = failed = 0


def check(ok, what, got=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {what}: {str(got)[:400]}")


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def raw(port, text, half=True, wait_s=WAIT_S):
    """Sends text, and what comes back until the other side closes; REFUSED, RESET or SILENT is how that ended."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as s:
            s.settimeout(wait_s)
            s.sendall(text.encode())
            if half:
                s.shutdown(socket.SHUT_WR)
            while True:
                part = s.recv(65536)
                if not part:
                    return got.decode()
                got += part
    except ConnectionRefusedError:
        return got.decode() + "REFUSED"
    except socket.timeout:
        return got.decode() + "SILENT"
    except OSError:
        return got.decode() + "RESET"


def get(port, target):
    return raw(port, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def begin(port, work_ms):
    """Asks, and does not wait for the answer."""
    s = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
    s.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nX-Work: {work_ms}\r\n\r\n".encode())
    return s


def work(port, work_ms):
    return raw(port, f"GET / HTTP/1.1\r\nHost: x\r\nX-Work: {work_ms}\r\nConnection: close\r\n\r\n")


def answered(sockets, wait_s):
    """Is any of them, by then?"""
    return bool(select.select(sockets, [], [], wait_s)[0])


def becomes(port, server, what, **wanted):
    """Waits until the server at that place of the admin port's list says so; what follows stands on it."""
    end_s = time.monotonic() + WAIT_S
    while True:
        got = health(port)[server]
        if all(got[k] == v for k, v in wanted.items()):
            return check(True, what)
        if time.monotonic() > end_s:
            check(False, what, got)
            finish()
        time.sleep(0.005)


def fault(port, query):
    return raw(port, f"POST /fault?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def health(port):
    return json.loads(get(port, "/health").split("\r\n\r\n", 1)[1])


ports, admin, folder = [int(p) for p in sys.argv[1].split(",")], int(sys.argv[2]), sys.argv[3]
shared, shared_admin = int(sys.argv[4]), int(sys.argv[5])
port = ports[0]

# ---- answers --------------------------------------------------------------------------------------------------------

got = get(port, "/any?thing")
for word in ("HTTP/1.1 200 OK\r\n", "Content-Length: 6\r\n", "X-Server: web0\r\n", "X-Active: 0\r\n",
             "Connection: close\r\n", "\r\n\r\nxxxxx\n"):
    check(word in got, "GET", got)
got = raw(port, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
check("Content-Length: 6" in got and got.endswith("\r\n\r\n"), "HEAD", got)
got = raw(port, "GET / HTTP/1.0\r\n\r\n", half=False)
check("Connection: close" in got, "HTTP/1.0 closes", got)
got = raw(port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
check("Connection: keep-alive" in got, "HTTP/1.0 may keep alive", got)
got = raw(port, "GET / HTTP/1.1\r\nX-Work: 30\r\nHost: x\r\n\r\n"
                "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
                "GET /health HTTP/1.1\r\n\r\n"
                "GET / HTTP/1.1\r\nx-wORK:\t1 \r\nX-Works: no\r\nConnection: close\r\n\r\n"
                "GET / HTTP/1.1\r\n\r\n")
check(got.count("HTTP/1.1 200 OK") == 4, "pipelined", got)
check('"requests": 6, "ok": 6,' in got, "pipelined: in order", got)
for bad in ("NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Work: 3ms\r\n\r\n", "GET / HTTP/1.1\r\nX-Work: -3\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Work: nan\r\n\r\n"):
    got = raw(port, bad)
    check(got.startswith("HTTP/1.1 400 Bad Request\r\n"), bad, got)
got = raw(port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
check(got.startswith("HTTP/1.1 200 OK"), "chunks", got)
got = get(admin, "/")
check(got.startswith("HTTP/1.1 404"), "admin port", got)
got = health(port)
check(got["server"] == "web0" and got["status"] == "healthy" and got["fault"] == "none", "/health", got)
check(got["active_requests"] == 0 and got["cpu"] >= 0 and got["avg_response_time"] > 0, "/health", got)
check([s["server"] for s in health(admin)] == ["web0", "web1", "web2", "web3"], "/health of all", got)

# ---- faults ---------------------------------------------------------------------------------------------------------

check(get(port, "/fault?kind=stop").startswith("HTTP/1.1 405"), "faults are posted")
check("no fault is called 'melt'" in fault(port, "kind=melt"), "a wrong fault")
check("there is no server" in fault(admin, "kind=stop&server=4"), "a fault of nobody")
fault(port, "kind=fail")
check(get(port, "/").startswith("HTTP/1.1 500"), "fail")
check(health(port)["fault"] == "fail", "fail: /health is well")
fault(port, "kind=reset")
check(get(port, "/") == "RESET", "reset")
fault(admin, "kind=hang&server=web0")
check(raw(port, "GET / HTTP/1.1\r\n\r\n", False, 0.3) == "SILENT", "hang")
check(raw(port, "GET /health HTTP/1.1\r\n\r\n", False, 0.3) == "SILENT", "hang: /health too")
check(get(ports[1], "/").startswith("HTTP/1.1 200"), "hang: of one")
fault(admin, "kind=hang&seconds=0.2&server=0")
check(raw(port, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False).startswith("HTTP/1.1 200"), "it heals by itself")
check("web0: stop" in fault(port, "kind=stop"), "stop is answered")
check(get(port, "/") == "REFUSED", "stop")
fault(admin, "kind=none")
check(get(port, "/").startswith("HTTP/1.1 200"), "none")

# What a server holds when it stops is lost, and told so.
load = subprocess.Popen(["build/http/load", "--url", f"http://127.0.0.1:{port}/", "--concurrency", "3", "--requests",
                         "3", "--work", f"{HOURS // 10}:fixed", "--timeout", "1000", "--out", folder],
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
becomes(admin, 0, "three at work", active_requests=3)
fault(admin, "kind=stop&server=web0")
said = load.communicate(timeout=2 * WAIT_S)[0].decode()
check("ok 0 + failed 3 (closed 3)" in said, "stop: who waits is told", said)
check(health(admin)[0]["lost"] == 3, "stop: counted", health(admin))

# ---- slots ----------------------------------------------------------------------------------------------------------

busy = [begin(ports[1], HOURS)]
becomes(admin, 1, "one at work", active_requests=1)
check(work(ports[1], 1).startswith("HTTP/1.1 200"), "there is a second slot")
busy.append(begin(ports[1], HOURS))
becomes(admin, 1, "two at work", active_requests=2)
for n in (1, 2):
    busy.append(begin(ports[1], 1))
    becomes(admin, 1, f"{n} waiting", active_requests=2 + n, waiting=n)
check(work(ports[1], 1).startswith("HTTP/1.1 503"), "no more may wait than that")
check(not answered(busy, 0.1), "there is no third slot")

# In order, and at another pace while at work: 100 s would be 200 s at this server's own.
first = begin(ports[2], 100000)
becomes(admin, 2, "one at work", active_requests=1)
busy.append(begin(ports[2], HOURS))
becomes(admin, 2, "the next one", waiting=1)
last = begin(ports[2], 1)
becomes(admin, 2, "the last one", waiting=2)
fault(ports[2], "kind=slow&speed=1000")
check(answered([first], WAIT_S), "another pace")
fault(ports[2], "kind=none")
becomes(admin, 2, "the next one's turn", active_requests=2, waiting=1)
check(not answered([last], 0.1), "nobody is passed over")

busy += [begin(ports[3], 1) for _ in range(3)]
becomes(admin, 3, "a delay holds no slot", active_requests=3, waiting=0)
check(not answered(busy, 0.1), "a delay is waited for")

busy += [begin(shared, HOURS) for _ in range(3)]
becomes(shared_admin, 0, "three share two CPUs", active_requests=3, waiting=0)
check(work(shared, 1).startswith("HTTP/1.1 200"), "sharing is not a queue")

fault(admin, "kind=stop")
for s in health(admin):
    check(s["requests"] == s["ok"] + s["failed"] + s["reset"] + s["lost"], "counters of " + s["server"], s)
    check(s["active_requests"] == 0, "nobody is left at " + s["server"], s)

finish()
