"""The operator's port of build/http/proxy; http_admin.sh calls this with a folder to work in. Where there is a Chromium
the page is looked at in it. Last line: N passed, N failed. Every process it starts it ends."""

import base64
import csv
import fcntl
import http.client
import json
import math
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

WAIT_S = 40.0
work = sys.argv[1]
passed = failed = skipped = 0
processes, browsers = [], []


def check(name, ok, words=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED %s: %s" % (name, words))


def until(what, seconds=WAIT_S):
    """Asks until the answer is true; whether it was. What should happen takes its time on a busy machine."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.03)
    return bool(what())


def start(name, args, ready):
    out, err = os.path.join(work, name + ".out"), os.path.join(work, name + ".err")
    with open(out, "w") as o, open(err, "w") as e:
        p = subprocess.Popen(args, stdout=o, stderr=e, stdin=subprocess.DEVNULL)
    processes.append(p)
    text = lambda: open(out).read()
    if not until(lambda: re.search(ready, text(), re.M) or p.poll() is not None):
        print("FAILED %s is not ready" % name)
    found = re.search(ready, text(), re.M)
    if not found:
        print("FAILED %s: %s" % (name, open(err).read()))
    return p, text()


def ask(port, method, target, headers=None, body=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    c.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    headers = dict(headers or {})
    headers.setdefault("Host", "127.0.0.1:%d" % port)
    for key, value in headers.items():
        c.putheader(key, value)
    if body is not None:
        c.putheader("Content-Length", str(len(body)))
    c.endheaders(body)
    r = c.getresponse()
    text = r.read()
    c.close()
    return r.status, text, r.headers


def raw(port, data, wait=WAIT_S):
    """What comes back until the other side closes; None: it did not."""
    s = socket.create_connection(("127.0.0.1", port), timeout=wait)
    got = b""
    try:
        s.sendall(data)
        while True:
            part = s.recv(65536)
            if not part:
                return got
            got += part
    except socket.timeout:
        return None
    except OSError:
        return got
    finally:
        s.close()


def status(port):
    code, text, _ = ask(port, "GET", "/status.json")
    assert code == 200
    return json.loads(text)


def server(port, name):
    return next((s for s in status(port)["servers"] if s["name"] == name), None)


def send(port, count, target="/"):
    """Requests on one connection; how many were answered 200."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    good = 0
    for _ in range(count):
        c.request("GET", target)
        r = c.getresponse()
        r.read()
        good += r.status == 200
    c.close()
    return good


# ---- metrics, read strictly ----

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"(%s)(?:\{(%s(?:,%s)*)?\})? (\S+)(?: -?\d+)?" % (NAME, LABEL, LABEL))
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "counter": ("",),
            "gauge": ("",), "untyped": ("",)}


def number(text):
    if text in ("NaN", "+Inf", "-Inf"):
        return float(text.replace("Inf", "inf"))
    assert re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text), text
    return float(text)


def read_metrics(text):
    """{name: {labels: value}}; an assertion names what is not the text format 0.0.4."""
    assert text.endswith("\n")
    families, kind, current, found, done = {}, None, None, {}, set()
    for line in text[:-1].split("\n"):
        head = re.fullmatch(r"# (HELP|TYPE) (%s) (.+)" % NAME, line)
        if head:
            word, name, rest = head.groups()
            if word == "HELP":
                assert name not in done, name + " begins twice"
                done.add(name)
                current, kind = name, None
            else:
                assert name == current and kind is None and rest in SUFFIXES, line
                kind = families[name] = rest
            continue
        m = SAMPLE.fullmatch(line)
        assert m, "no sample: " + line
        name, labels, value = m.groups()
        assert kind and name in [current + s for s in SUFFIXES[kind]], "outside its family: " + line
        assert kind != "counter" or name.endswith("_total"), line
        keys = tuple(sorted(re.findall(LABEL, labels or "")))
        assert len({k.split("=")[0] for k in keys}) == len(keys), "a label twice: " + line
        assert keys not in found.setdefault(name, {}), "twice: " + line
        found[name][keys] = number(value)
        assert kind != "counter" or found[name][keys] >= 0, line
    for name, kind in families.items():
        if kind == "histogram":
            buckets = [(number(k[0][4:-1]), v) for k, v in found[name + "_bucket"].items()]
            assert buckets == sorted(buckets) and buckets[-1][0] == math.inf, name
            assert [b[1] for b in buckets] == sorted(b[1] for b in buckets), name
            assert buckets[-1][1] == found[name + "_count"][()], name
    return found


# ---- a browser ----


class Browser:
    """Chromium without a window, steered through two pipes: a JSON message and a zero either way."""

    def __init__(self, program):
        down, up = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (down[0], up[1])]
        args = [program, "--headless=new", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run", "--mute-audio",
                "--user-data-dir=" + os.path.join(work, "chromium"), "about:blank"]
        if os.geteuid() == 0:
            args.insert(1, "--no-sandbox")
        nothing = subprocess.DEVNULL
        self.process = subprocess.Popen(args, stdin=nothing, stdout=nothing, stderr=nothing, close_fds=False,
                                        env=dict(os.environ, HOME=work), start_new_session=True,
                                        preexec_fn=lambda: (os.dup2(theirs[0], 3), os.dup2(theirs[1], 4)))
        for fd in theirs + [down[0], up[1]]:
            os.close(fd)
        self.out, self.back, self.got, self.number, self.session = down[1], up[0], b"", 0, None
        self.urls, self.errors = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def call(self, method, **values):
        self.number += 1
        message = {"id": self.number, "method": method, "params": values}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 2 * WAIT_S
        while time.monotonic() < end:
            text, zero, rest = self.got.partition(b"\0")
            if not zero:
                if select.select([self.back], [], [], 1)[0]:
                    part = os.read(self.back, 1 << 20)
                    if not part:
                        break
                    self.got += part
                continue
            self.got = rest
            answer = json.loads(text)
            if answer.get("id") == self.number:
                return answer.get("result", {})
            self.note(answer.get("method"), answer.get("params", {}))
        raise RuntimeError("the browser says nothing to " + method)

    def note(self, method, values):
        if method == "Network.requestWillBeSent":
            self.urls.append(values["request"]["url"])
        if method == "Runtime.exceptionThrown" or (method == "Log.entryAdded" and values["entry"]["level"] == "error"):
            self.errors.append(json.dumps(values)[:300])

    def js(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self, selector):
        return self.js("document.querySelector('%s').textContent" % selector)

    def size(self, width, height, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def press(self, key, code):
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: its helpers too
        self.process.wait()


def look_at_page(browser, admin):
    browser.size(1920, 1080)
    browser.call("Page.navigate", url="http://127.0.0.1:%d/" % admin)
    check("live", until(lambda: browser.js("document.querySelector('#live')?.textContent") == "live"))
    names = "[...document.querySelectorAll('#servers th')].map(t => t.firstChild.data).join()"
    states = "[...document.querySelectorAll('td.state')].map(t => t.textContent).join()"
    check("rows", until(lambda: browser.js(names) == "s0,s1,s2" and browser.js(states) == "up,up,up"))
    check("policy", browser.text("#policy") == "learned" and browser.text("#mode") == "serving")
    for width, scheme in ((1920, "dark"), (1000, "light"), (400, "dark")):
        browser.size(width, 1080, scheme)
        wide = "document.documentElement.scrollWidth"
        check("fits %d" % width, until(lambda: browser.js(wide) <= width), browser.js(wide))
        back = "getComputedStyle(document.body).backgroundColor"
        dark = lambda: int(re.findall(r"\d+", browser.js(back))[0]) < 100
        check("scheme %d" % width, until(lambda: dark() == (scheme == "dark")), browser.js(back))
    browser.size(1920, 1080)
    browser.js("document.querySelector('#shadow').click()")
    check("asks first", browser.js("document.querySelector('#ask').open && document.activeElement.id") == "no")
    browser.press("Escape", 27)
    check("escape", until(lambda: not browser.js("document.querySelector('#ask').open")))
    check("nothing happened", status(admin)["shadow"] is False)
    browser.js("document.querySelector('#shadow').focus()")
    browser.press("Enter", 13)
    browser.press("Tab", 9)
    check("the other button", until(lambda: browser.js("document.activeElement.id") == "yes"))
    browser.press("Enter", 13)
    check("shadow by keyboard", until(lambda: status(admin)["shadow"] is True))
    check("says so", until(lambda: browser.text("#mode") == "in shadow: lsq serves"), browser.text("#mode"))
    browser.js("document.querySelector('#shadow').click(); document.querySelector('#yes').click()")
    check("and back by mouse", until(lambda: status(admin)["shadow"] is False))
    browser.js("document.querySelector('#servers button').click(); document.querySelector('#yes').click()")
    check("drain by mouse", until(lambda: server(admin, "s0")["state"] == "draining"))
    check("row says so", until(lambda: browser.text("#servers td.state") == "draining"))
    browser.js("document.querySelector('#servers button').click(); document.querySelector('#yes').click()")
    check("bring back by mouse", until(lambda: server(admin, "s0")["state"] == "up"))
    check("nothing from elsewhere", all(u.startswith(("http://127.0.0.1:%d/" % admin, "data:")) for u in browser.urls),
          browser.urls)
    check("no errors", not browser.errors, browser.errors)


# ---- the proxy, three servers behind it ----

def run():
    begun = time.time()
    config, log, state = (os.path.join(work, n) for n in ("proxy.conf", "access.csv", "learned.state"))
    backend, said = start("backend", ["build/http/backend", "--servers", "3x8", "--for", "270"], "^ready$")
    ports = [int(p) for p in re.findall(r"^server .*:(\d+)$", said, re.M)]
    faults = int(re.search(r"^admin .*:(\d+)$", said, re.M).group(1))
    lines = ["server s%d 127.0.0.1:%d" % (i, p) for i, p in enumerate(ports)]
    lines += ["listen 127.0.0.1:0", "admin 127.0.0.1:0", "policy learned", "fallback lsq", "access-log " + log,
              "health /health interval=0.1 timeout=60 rise=2 fall=2 says=json", "state " + state, "interval 0.05"]
    with open(config, "w") as f:
        f.write("\n".join(lines) + "\n")
    started = ["build/http/proxy", "--config", config]
    proxy, said = start("proxy", started, r"^admin on .*:\d+$")
    port = int(re.search(r"^listening on .*:(\d+)$", said, re.M).group(1))
    admin = int(re.search(r"^admin on .*:(\d+)$", said, re.M).group(1))

    # What is there.
    check("requests", send(port, 60) == 60)
    code, page, headers = ask(admin, "GET", "/")
    check("page", code == 200 and headers["Content-Type"].startswith("text/html"))
    check("page begins", page.startswith(b"<!doctype html>"))
    check("page is whole", page.rstrip().endswith(b"</html>") and len(page) == int(headers["Content-Length"]))
    check("page loads nothing", not re.search(rb"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", page))
    check("page is fenced in", "default-src 'none'" in headers["Content-Security-Policy"])
    code, text, again = ask(admin, "HEAD", "/")
    check("HEAD", code == 200 and text == b"" and again["Content-Length"] == headers["Content-Length"])
    s = status(admin)
    check("status", s["policy"] == "learned" and s["fallback"] == "lsq" and s["shadow"] is False and s["checks"])
    check("status counts", s["requests"]["ok"] == 60 and sum(v["ok"] for v in s["servers"]) == 60, s["requests"])
    check("status servers", [v["name"] for v in s["servers"]] == ["s0", "s1", "s2"]
          and all(v["state"] == "up" and v["in_flight"] == 0 for v in s["servers"]), s["servers"])
    check("history", until(lambda: len(status(admin)["history"]["reward"]) >= 1))
    try:
        code, text, headers = ask(admin, "GET", "/metrics")
        found = read_metrics(text.decode())
        check("metrics count", found["rllb_proxy_requests_total"][('ending="ok"',)] == 60)
        check("metrics of the balancer", sum(found["rllb_server_picks_total"].values()) == 60)
        check("metrics type", headers["Content-Type"].startswith("text/plain; version=0.0.4"))
    except (AssertionError, KeyError) as e:
        check("metrics", False, repr(e))

    paid = lambda: status(admin)["reward"] or 0.0  # forgotten after some seconds
    check("reward", until(lambda: send(port, 1) == 1 and -1000 < paid() < 0), paid())

    # Who may do what.
    mine = {"X-Rllb-Admin": "1"}
    check("no header", ask(admin, "POST", "/shadow?on=1")[0] == 403)
    check("another header", ask(admin, "POST", "/shadow?on=1", {"X-Rllb-Admin": "yes"})[0] == 403)
    for host in ("evil.example", "evil.example:%d" % admin, "127.0.0.1.evil.example", "localhost.evil", "[::1",
                 "1.2.3"):
        check("Host " + host, ask(admin, "POST", "/shadow?on=1", dict(mine, Host=host))[0] in (400, 403))
        check("status for " + host, ask(admin, "GET", "/status.json", {"Host": host})[0] in (400, 403))
    check("metrics for anybody", ask(admin, "GET", "/metrics", {"Host": "proxy.example"})[0] == 200)
    for host in ("localhost", "localhost:80", "[::1]:9", "10.1.2.3"):
        check("Host " + host, ask(admin, "GET", "/status.json", {"Host": host})[0] == 200)
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "x-rllb-admin"}
    code, _, headers = ask(admin, "OPTIONS", "/shadow?on=1", preflight)
    check("preflight", code == 405 and not any(k.lower().startswith("access-control") for k in headers))
    check("nobody was heard", status(admin)["shadow"] is False)
    check("GET of a switch", ask(admin, "GET", "/shadow?on=1", mine)[0] == 404)
    check("PUT", ask(admin, "PUT", "/shadow?on=1", mine)[0] == 405)
    check("elsewhere", ask(admin, "GET", "/x")[0] == 404 and ask(admin, "POST", "/x", mine)[0] == 404)
    for wrong in ("", "?", "?on", "?on=", "?on=2", "?on=11", "?off=1", "?on=01"):
        check("shadow" + wrong, ask(admin, "POST", "/shadow" + wrong, mine)[0] == 400)
    for wrong in ("?on=1", "?on=1&server=", "?on=1&server=s9", "?on=1&server=" + "s" * 99):
        check("drain" + wrong, ask(admin, "POST", "/drain" + wrong, mine)[0] == 404)

    # Switches.
    check("shadow", ask(admin, "POST", "/shadow?on=1", mine)[0] == 200 and status(admin)["shadow"] is True)
    send(port, 30)
    check("shadow counts", status(admin)["balancer"]["shadow_picks"] >= 30)
    check("and back", ask(admin, "POST", "/shadow?on=0", mine)[0] == 200 and status(admin)["shadow"] is False)
    check("drain", ask(admin, "POST", "/drain?server=s0&on=1", mine)[0] == 200)
    before = server(admin, "s0")
    check("drained", before["state"] == "draining" and send(port, 40) == 40)
    check("nothing for it", server(admin, "s0")["ok"] == before["ok"])
    check("bring back", ask(admin, "POST", "/drain?on=0&server=s0", mine)[0] == 200)
    check("it is back", server(admin, "s0")["state"] == "up")

    # The page.
    global skipped
    program = next((p for p in ("chromium", "chromium-browser", "google-chrome") if shutil.which(p)), None)
    browser = Browser(program) if program else None
    if browser:
        browsers.append(browser)
        look_at_page(browser, admin)
    else:
        skipped += 1
        print("http_admin: skipped: the page: chromium is not installed")

    # Settings read again.
    with open(config, "a") as f:
        f.write("server more 127.0.0.1:%d weight=2\n" % ports[0])
    check("reload", ask(admin, "POST", "/reload", mine)[0] == 200)
    check("one more", server(admin, "more")["weight"] == 2 and status(admin)["reloads"] == 1)
    with open(config, "a") as f:
        f.write("retires 3\n")
    check("wrong reload", ask(admin, "POST", "/reload", mine)[0] == 409 and status(admin)["reloads_refused"] == 1)
    err = open(os.path.join(work, "proxy.err")).read()
    check("one line says why", err == "proxy: %s:%d: no setting 'retires'; did you mean retries?\n"
          % (config if len(config) <= 48 else "..." + config[-48:], len(lines) + 2), err)
    check("nothing changed", len(status(admin)["servers"]) == 4 and send(port, 10) == 10)
    with open(config, "w") as f:
        f.write("\n".join(lines) + "\n")

    # Ill-behaved guests.
    check("garbage", (raw(admin, b"\x16\x03\x01\x02\x00\x01\n\n") or b"").startswith(b"HTTP/1.1 400"))
    large = raw(admin, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000)
    check("a head too large", (large or b"")[9:10] == b"4", large)
    large = raw(admin, b"POST /shadow?on=1 HTTP/1.1\r\nHost: localhost\r\nX-Rllb-Admin: 1\r\n"
                       b"Content-Length: 99999\r\n\r\n")
    check("a body too large", (large or b"")[9:10] == b"4", large)
    check("half closed", b"</html>" in half_closed(admin))
    idle = [socket.create_connection(("127.0.0.1", admin), timeout=WAIT_S) for _ in range(100)]
    check("too many", send(port, 10) == 10)
    for c in idle:
        c.close()
    check("room again", until(lambda: code_or_none(admin) == 200))

    # Checks: a server stops, and comes back.
    ask(faults, "POST", "/fault?kind=stop&server=s1")
    check("down", until(lambda: server(admin, "s1")["state"] == "down"), server(admin, "s1"))
    check("all is answered", send(port, 40) == 40)
    ask(faults, "POST", "/fault?kind=none&server=s1")
    check("up", until(lambda: server(admin, "s1")["state"] in ("up", "ejected")), server(admin, "s1"))

    # The log.
    odd = '/a"b,c?x=\'1\'&y=%0d%0a'
    check("odd target", send(port, 1, odd) == 1)
    check("flushed", until(lambda: odd.replace('"', '""') in open(log).read()))
    with open(log, newline="") as f:
        rows = list(csv.reader(f))
    names = "time_s,client,method,target,status,server,tries,ms,bytes_in,bytes_out,ending"
    check("columns", rows[0] == names.split(","))
    check("rows", all(len(r) == 11 for r in rows) and rows[-1][3] == odd and rows[-1][10] == "ok", rows[-1])
    now = time.time()
    longest = now - begun + 1
    check("times", all(now - longest < float(r[0]) < now + 1 and 0 <= float(r[7]) < 1e3 * longest for r in rows[1:]))
    check("every request has a line", len(rows) - 1 == status(admin)["log_lines"])
    os.rename(log, log + ".1")
    proxy.send_signal(signal.SIGHUP)
    check("a new log", until(lambda: os.path.exists(log)))
    controls = status(admin)["balancer"]["controls"]  # what comes after the last request may not be saved
    check("again", send(port, 5) == 5 and until(lambda: open(log).read().count("\n") == 6))

    # What was learned.
    proxy.send_signal(signal.SIGTERM)
    check("ends", proxy.wait(2 * WAIT_S) == 0)
    if browser:
        check("page is old", until(lambda: browser.text("#live").startswith("no answer for")), browser.text("#live"))
        browser.end()
    check("saved", controls > 0 and os.path.getsize(state) > 1000)
    proxy, said = start("proxy2", started, r"^admin on .*:\d+$")
    admin = int(re.search(r"^admin on .*:(\d+)$", said, re.M).group(1))
    check("found again", status(admin)["balancer"]["controls"] >= controls)
    proxy.terminate()
    check("ends again", proxy.wait(2 * WAIT_S) == 0)

    # A disk that is full: traffic goes on, lines are lost and counted.
    if os.path.exists("/dev/full"):
        proxy, said = start("proxy3", ["build/http/proxy", "--listen", "0", "--admin", "0", "--access-log", "/dev/full",
                                       "--server", "s0 127.0.0.1:%d" % ports[0]], r"^admin on .*:\d+$")
        port, admin = (int(p) for p in re.findall(r"on .*:(\d+)$", said, re.M))
        check("a full disk", send(port, 2400, "/" + "x" * 990) == 2400)
        s = status(admin)
        check("lines are lost", s["log_lost"] > 0 and s["log_lines"] + s["log_lost"] == 2400, s["log_lost"])
        proxy.terminate()
        check("ends", proxy.wait(2 * WAIT_S) == 0)


def code_or_none(port):
    try:
        return ask(port, "GET", "/status.json")[0]
    except OSError:
        return None
    except http.client.HTTPException:
        return None


def half_closed(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
    s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    s.shutdown(socket.SHUT_WR)
    got = b""
    while True:
        part = s.recv(65536)
        if not part:
            return got
        got += part


try:
    run()
except Exception as e:  # what is left of the test cannot be run
    import traceback
    check("http_admin", False, traceback.format_exc())
finally:
    for b in browsers:
        b.end()
    for p in processes:
        if p.poll() is None:
            p.kill()
        p.wait()
print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
sys.exit(failed > 0)
