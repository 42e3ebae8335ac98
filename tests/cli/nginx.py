"""The nginx module in a real nginx on the loopback; nginx.sh calls this with a folder to work in. Last line: N passed,
N failed. Every process it starts it ends."""

import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import ports

work = sys.argv[1]
root = os.getcwd()
passed = failed = 0
processes, daemons = [], []
NGINX = shutil.which("nginx")
MODEL = root + "/models/rllb-balancer.safetensors"
POLICIES = ("sed nq lsq round_robin weighted_round_robin ecmp wcmp awcmp maglev maglev_bounded p2c p2c_weighted draw "
            "jiq least_time peak_ewma c3 prequal hlb equalise learned").split()
STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


def check(name, ok, words=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED %s: %s" % (name, words))


PATIENCE = 40.0  # seconds, that things may take on a busy machine


def until(what):
    """True as soon as that is, False if it is not in the end."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.03)
    return bool(what())


def free_port():
    return ports.hold(1)[0]


def kill(pid, how):
    """A process, and never a group: a number that is not there yet is 0."""
    if pid <= 0:
        raise RuntimeError("nobody to signal")
    os.kill(pid, how)


class Backends:
    """One process, several servers."""

    def __init__(self, *options):
        self.process = subprocess.Popen([root + "/build/http/backend", "--for", "300"] + list(options),
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        processes.append(self.process)
        self.ports, line = [], ""
        while line != "ready\n":
            line = self.process.stdout.readline()
            if line.startswith("server"):
                self.ports.append(int(line.rsplit(":", 1)[1]))
            if line.startswith("admin"):
                self.admin = int(line.rsplit(":", 1)[1])
            if not line:
                raise RuntimeError("backend does not start")

    def tell(self, method, target):
        """To the admin port; what it says."""
        c = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE)
        c.request(method, target)
        said = c.getresponse().read().decode()
        c.close()
        return said

    def fault(self, words):
        self.tell("POST", "/fault?" + words)

    def requests(self):
        """That its servers have got."""
        return sum(s["requests"] for s in json.loads(self.tell("GET", "/health")))

    def end(self):
        self.process.kill()
        self.process.wait()


def alive(pid):
    """Runs: one that ended and was not asked for yet does not."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return pid > 0 and f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def children(pid):
    """The processes that run of those that it has started."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/stat" % name) as f:
                state, parent = f.read().rsplit(")", 1)[1].split()[:2]
        except (OSError, ValueError, IndexError):
            continue
        if name.isdigit() and int(parent) == pid and state != "Z":
            found.append(int(name))
    return found


class Question:
    """A request that nobody waits for yet."""

    def __init__(self, port, path, headers):
        self.c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.c.request("GET", path, headers=headers)

    def answer(self):
        """Its status; 0: none."""
        try:
            return self.c.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            self.c.close()

    def leave(self):
        self.c.close()


class Nginx:
    def __init__(self, name, upstreams, workers=1, locations="", main="", extra="", stream="", daemon=False):
        self.folder = os.path.join(work, name)
        os.mkdir(self.folder)
        self.port, self.workers, self.extra, self.locations, self.main = free_port(), workers, extra, locations, main
        self.stream, self.daemon = stream, daemon
        self.write(upstreams)
        self.process = None

    def write(self, upstreams):
        names = re.findall(r"^ *upstream (\S+)", upstreams, re.M)
        places = "".join("location /%s { proxy_pass http://%s; %s }\n" % (n, n, self.extra) for n in names)
        paths = "".join("%s_temp_path %s/t;\n" % (p, self.folder)
                        for p in "client_body proxy fastcgi uwsgi scgi".split())
        with open(self.folder + "/nginx.conf", "w") as f:
            if self.stream:
                f.write("load_module %s; load_module %s/build/nginx/ngx_stream_rllb_module.so;\n" % (STREAM, root))
            f.write("load_module %s/build/nginx/ngx_http_rllb_module.so;\n"
                    "daemon %s; worker_processes %d; pid %s/pid; error_log %s/error.log info;\n"
                    "worker_shutdown_timeout 60s; %s\n"
                    "events { worker_connections 512; }\nhttp { access_log off; %s\n%s\nserver { listen 127.0.0.1:%d"
                    " reuseport;\nproxy_http_version 1.1; proxy_set_header Connection \"\";\n"
                    "add_header X-Tried $upstream_addr always;\n%s%s\n"
                    "location /status { rllb_status; }\nlocation /metrics { rllb_status prometheus; }\n} }\n"
                    % (root, "on" if self.daemon else "off", self.workers, self.folder, self.folder, self.main, paths,
                       upstreams, self.port, places, self.locations))
            if self.stream:
                f.write("stream {\n%s\n}\n" % self.stream)

    def command(self, *more):
        return [NGINX, "-p", self.folder, "-e", self.folder + "/error.log", "-c", self.folder + "/nginx.conf",
                *more]

    def test(self):
        """What nginx -t says, and whether it is content."""
        p = subprocess.run(self.command("-t"), capture_output=True, text=True, timeout=100)
        return p.returncode == 0, p.stderr

    def start(self):
        if self.daemon:
            subprocess.run(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=100)
            until(lambda: self.pid())
            daemons.append(self.pid())
        else:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                            text=True)
            processes.append(self.process)
        if not until(lambda: self.ended() or self.get("/status")[0] == 200) or self.ended():
            print(open(self.folder + "/error.log").read()[-2000:])
            raise RuntimeError("nginx does not start")
        return self

    def ended(self):
        return self.process is not None and self.process.poll() is not None

    def pid(self):
        """Of the master; 0: there is no such file, or not yet."""
        try:
            with open(self.folder + "/pid") as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def get(self, path):
        """Status, headers, body; status 0: none."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.headers, r.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, {}, ""
        finally:
            c.close()

    def status(self, upstream):
        """As soon as the worker that answers has a place, and knows it."""
        found = []

        def look():
            found[:] = [u for u in json.loads(self.get("/status")[2] or '{"upstreams":[]}')["upstreams"]
                        if u["upstream"] == upstream]
            return found

        until(look)
        return found[0]

    def sum(self, upstream, key):
        return sum(s[key] for s in self.status(upstream)["servers"])

    def put(self, upstream, count, headers=None):
        """So many requests, each of which is at a server before the next one is sent."""
        out = []
        for i in range(count):
            out.append(Question(self.port, "/" + upstream, headers or {}))
            check("%s: request %d is at a server" % (upstream, i),
                  until(lambda: self.sum(upstream, "in_flight") == i + 1))
        return out

    def weights(self):
        """Of upstream u, by port, over their mean."""
        found = {int(s["name"].rsplit(":", 1)[1]): s["weight_in_force"] for s in self.status("u")["servers"]}
        return {port: w * len(found) / sum(found.values()) for port, w in found.items()}

    def many(self, path, count):
        """How many answers were 200, over one connection, and whom nginx tried."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        good, tried = 0, []
        for _ in range(count):
            c.request("GET", path)
            r = c.getresponse()
            r.read()
            good += r.status == 200
            tried.append(r.headers.get("X-Tried", "").split(", "))
        c.close()
        return good, tried

    def reload(self, upstreams):
        old = {w for u in json.loads(self.get("/status")[2])["upstreams"] for w in u["workers"]}
        self.write(upstreams)
        self.process.send_signal(signal.SIGHUP)
        return until(lambda: self.fresh(old))

    def fresh(self, old):
        """Only workers of the new configuration serve."""
        if any(os.path.exists("/proc/%d" % pid) for pid in old):
            return False
        status, _, body = self.get("/status")
        return status == 200 and json.loads(body)["pid"] not in old

    def log(self):
        with open(self.folder + "/error.log") as f:
            return f.read()

    def end(self):
        if self.daemon:
            pid = self.pid()
            kill(pid, signal.SIGQUIT)
            check("nginx ends", until(lambda: not alive(pid)))
            return self.look_for_alarms()
        self.process.send_signal(signal.SIGQUIT)
        try:
            ok = self.process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            ok = False
        check("nginx ends well", ok, self.log()[-500:])
        self.look_for_alarms()

    def look_for_alarms(self):
        bad = [l for l in self.log().splitlines() if re.search(r"\[(alert|emerg|crit)\]|exited on signal", l)
               and "exited on signal 9" not in l and "blend=200" not in l]
        check("nothing alarming in the log", not bad, "\n".join(bad[:5]))


def servers(ports, more=""):
    return " ".join("server 127.0.0.1:%d%s;" % (p, more) for p in ports)


def load(port, path, *options):
    """Counts of build/http/load. It is patient, and after a stall does not ask for more at once than nginx can hold:
    what fails then was lost."""
    out = os.path.join(work, "load%d" % time.monotonic_ns())
    subprocess.run([root + "/build/http/load", "--quiet", "--out", out, "--url", "http://127.0.0.1:%d%s" % (port, path),
                    "--timeout", "200", "--connections", "100", *options], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=250)
    with open(out + "/results.json") as f:
        return json.load(f)["counts"]


# ---- what serves -----------------------------------------------------------------------------------------------------

def upstream_of(policy, ports):
    model = " model=" + MODEL if policy == "learned" else ""
    key = " key=$request_uri" if policy in ("ecmp", "wcmp", "maglev", "maglev_bounded") else ""
    return "upstream %s { zone %s 128k; %s rllb policy=%s%s%s interval=50ms report=X-Active; keepalive 4; }\n" % (
        policy, policy, servers(ports), policy, model, key)


def families(page):
    """Family -> its samples; None where the text is not the format's."""
    out, current = {}, None
    for line in page.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            if current in out:
                return None
            out[current] = []
        elif line.startswith("# TYPE "):
            if line.split()[2] != current:
                return None
        else:
            m = re.match(r'([a-z_]+)\{([a-z]+="[^"]*",?)+\} (-?[0-9.e+-]+|NaN|[+-]Inf)$', line)
            if not m or m.group(1) != current:
                return None
            out[current].append(line.rsplit(" ", 1)[0])
    return out


def every_policy():
    b = Backends("--servers", "3x64")
    n = Nginx("policies", "".join(upstream_of(p, b.ports) for p in POLICIES), workers=2).start()
    for p in POLICIES:
        good, _ = n.many("/" + p + "?1", 15)
        check(p + " serves", good == 15, "%d of 15" % good)
    status = json.loads(n.get("/status")[2])
    check("all are listed", [u["upstream"] for u in status["upstreams"]] == POLICIES, status)
    for u in status["upstreams"]:
        picks = sum(s["picks"] for s in u["servers"])
        check(u["policy"] + " picked them all", picks == 15 and u["counters"]["no_server"] == 0, u)
    keyed = {t[-1] for _ in range(3) for t in n.many("/maglev?7", 5)[1]}
    check("a key goes to one server", len(keyed) == 1, keyed)
    page = families(n.get("/metrics")[2])
    samples = [s for f in page.values() for s in f] if page else []
    check("metrics are well-formed", page and len(samples) == len(set(samples)), n.get("/metrics")[2][:300])
    check("of all upstreams", len((page or {}).get("rllb_server_picks_total", [])) == 3 * len(POLICIES))
    head = n.get("/metrics")[1]
    check("with their type", head.get("Content-Type", "").startswith("text/plain; version=0.0.4"), head)
    n.end()
    b.end()


def picks_of(n, upstream):
    return [s["picks"] for s in n.status(upstream)["servers"]]


def shares(n, upstream, count, at_once):
    """Of so many requests, over the fair one."""
    before = picks_of(n, upstream)
    load(n.port, "/" + upstream, "--requests", str(count), "--concurrency", str(at_once), "--duration", "200")
    return [(a - b) * len(before) / count for a, b in zip(picks_of(n, upstream), before)]


def equal_shares():
    b = Backends("--servers", "5x64")
    n = Nginx("equal", "".join("upstream e%s { zone e%s 128k; %s rllb policy=%s interval=50ms; keepalive 32; }\n" % (
        p, p, servers(b.ports), p + (" model=" + MODEL if p == "learned" else "")) for p in ("sed", "learned")),
              workers=2).start()
    for p in ("sed", "learned"):
        c = load(n.port, "/e" + p, "--requests", "1000", "--concurrency", "10", "--duration", "200")
        check(p + ": workers' counts add up", c["ok"] == 1000 and until(lambda: n.sum("e" + p, "done") == 1000), c)
        u = n.status("e" + p)
        check(p + ": both workers are there", len(u["workers"]) == 2 and u["keeper"] in u["workers"], u)
    # One at a time: picks at random, which no stall of a worker turns to one server. A deviation is 3.7 %.
    share = shares(n, "esed", 3000, 1)
    check("sed: equal shares", all(0.82 < s < 1.18 for s in share), share)
    # A stall looks as if a server were slow, for a while.
    check("learned: nobody starves", any(min(shares(n, "elearned", 1000, 10)) > 0.5 for _ in range(15)),
          picks_of(n, "elearned"))
    n.end()
    b.end()


# ---- nginx's rules ---------------------------------------------------------------------------------------------------

def rules():
    b = Backends("--servers", "4x64")
    p, dead = b.ports, free_port()
    n = Nginx("rules", """
        upstream weights { zone a 64k; server 127.0.0.1:%d weight=1; server 127.0.0.1:%d weight=3;
            rllb policy=weighted_round_robin; }
        upstream down { zone b 64k; server 127.0.0.1:%d down; server 127.0.0.1:%d; server 127.0.0.1:%d; rllb; }
        upstream backup { zone c 64k; server 127.0.0.1:%d max_fails=1 fail_timeout=60s; server 127.0.0.1:%d backup;
            rllb; }
        upstream idle_backup { zone d 64k; server 127.0.0.1:%d; server 127.0.0.1:%d; server 127.0.0.1:%d backup;
            rllb policy=round_robin; }
        upstream fails { zone e 64k; server 127.0.0.1:%d max_fails=2 fail_timeout=60s; server 127.0.0.1:%d;
            server 127.0.0.1:%d; rllb policy=round_robin eject_failures=0 eject_rate=0; }
        upstream single { server 127.0.0.1:%d; rllb; }
        upstream unzoned { %s rllb policy=lsq; }
        """ % (p[0], p[1], p[0], p[1], p[2], dead, p[3], p[0], p[1], p[2], dead, p[1], p[2], p[0], servers(p)),
              locations="location /direct { proxy_pass http://127.0.0.1:%d; }" % p[0]).start()
    n.many("/weights", 80)
    picks = [s["picks"] for s in n.status("weights")["servers"]]
    check("weights 1:3", picks == [20, 60], picks)
    good, tried = n.many("/down", 30)
    at = {a for t in tried for a in t}
    check("a server that is down gets none", good == 30 and "127.0.0.1:%d" % p[0] not in at and len(at) == 2, at)
    check("... and is told so", n.status("down")["servers"][0]["state"] == "down")
    good, tried = n.many("/backup", 20)
    check("the backup helps", good == 20 and tried[-1] == ["127.0.0.1:%d" % p[3]], tried)
    good, tried = n.many("/idle_backup", 20)
    check("the backup waits", good == 20 and "127.0.0.1:%d" % p[2] not in {a for t in tried for a in t}, tried)
    good, tried = n.many("/fails", 60)
    count = sum("127.0.0.1:%d" % dead in t for t in tried)
    check("max_fails is heeded", good == 60 and count == 2, (good, count))
    check("a failed server is not tried twice", all(len(t) == len(set(t)) for t in tried), tried)
    until(lambda: n.status("fails")["servers"][0]["state"] == "down")
    s = n.status("fails")["servers"][0]
    check("... and counted", s["failed"] == 2 and s["state"] == "down", s)
    check("a single server serves", n.many("/single", 5)[0] == 5)
    check("and one that is in no upstream block", n.many("/direct", 5)[0] == 5)
    check("so do servers without a zone", n.many("/unzoned", 12)[0] == 12)
    n.end()
    b.end()


def limits():
    b = Backends("--servers", "3x64")
    n = Nginx("limits", """
        upstream full { zone a 64k; server 127.0.0.1:%d max_conns=1; server 127.0.0.1:%d max_conns=1; rllb; }
        upstream spill { zone b 64k; server 127.0.0.1:%d max_conns=1; server 127.0.0.1:%d max_conns=1;
            server 127.0.0.1:%d backup; rllb; }
        upstream left { zone c 64k; %s rllb; }
        """ % (*b.ports[:2], *b.ports, servers(b.ports[:2])), workers=2).start()
    for path, more in (("full", 502), ("spill", 200)):
        for name in ("s0", "s1"):
            b.fault("kind=hang&server=" + name)
        held = n.put(path, 2)
        got = [n.get("/" + path)[0] for _ in range(3)]
        check("max_conns is heeded, a backup has the rest", got == [more] * 3, (path, got))
        b.fault("kind=none")
        check("%s: those that were there are answered" % path, [q.answer() for q in held] == [200, 200])
        check("%s: nothing stays in flight" % path, until(lambda: n.sum(path, "in_flight") == 0))
    b.fault("kind=hang")
    n.put("left", 1)[0].leave()
    check("a client that leaves is over", until(lambda: n.sum("left", "done") == 1), n.status("left"))
    left = n.status("left")["servers"]
    check("... and nobody's fault", all(s["failed"] == 0 and s["recent_ms"] == 0 for s in left), left)
    b.fault("kind=none")
    n.end()
    b.end()


def retries():
    b = Backends("--servers", "4x64", "--fault",
                 "t=0 server=0 kind=fail,t=0 server=1 kind=reset,t=0 server=2 kind=fail")
    n = Nginx("retries", "".join("upstream %s { zone %s 64k; %s rllb policy=%s; }\n" % (
        p, p, servers(b.ports, " max_fails=0"), p) for p in ("round_robin", "draw")), extra="proxy_next_upstream error "
              "http_500;").start()
    for p in ("round_robin", "draw"):
        good, tried = n.many("/" + p, 20)
        check(p + ": goes on until one answers", good == 20 and tried[-1][-1].endswith(":%d" % b.ports[3]), tried[-3:])
        check(p + ": never the same twice", all(len(t) == len(set(t)) for t in tried), tried)
    n.end()
    b.end()


# ---- processes come and go -------------------------------------------------------------------------------------------

def two(ports, more=""):
    return "upstream u { zone u 128k; %s rllb policy=learned model=%s interval=50ms %s; }\n" % (servers(ports), MODEL,
                                                                                               more)


def reloads():
    b = Backends("--servers", "4x64")
    n = Nginx("reloads", two(b.ports[:3]), workers=2).start()
    n.many("/u", 60)
    until(lambda: n.status("u")["counters"]["controls"] > 3)
    before = n.status("u")
    check("reload", n.reload(two(b.ports[1:])))
    n.many("/u", 60)
    check("reload: it goes on to learn",
          until(lambda: n.status("u")["counters"]["controls"] > before["counters"]["controls"]))
    after = n.status("u")
    old = {s["name"]: s for s in before["servers"]}
    new = {s["name"]: s for s in after["servers"]}
    kept = ["127.0.0.1:%d" % p for p in b.ports[1:3]]
    check("reload: counts go on", all(new[k]["picks"] >= old[k]["picks"] for k in kept)
          and sum(s["picks"] for s in new.values()) > 60, after)
    check("reload: servers keep their index", all(new[k]["index"] == old[k]["index"] for k in kept), new)
    fresh = "127.0.0.1:%d" % b.ports[3]
    check("reload: who came serves, who went is gone", fresh in new and "127.0.0.1:%d" % b.ports[0] not in new, new)
    check("reload: said", "goes on with what it has learned" in n.log())
    check("reload: another policy begins anew", n.reload(two(b.ports).replace("learned model=" + MODEL, "lsq")))
    good = n.many("/u", 20)[0]
    check("... and serves", good == 20 and sum(s["picks"] for s in n.status("u")["servers"]) == 20,
          (good, n.status("u")))
    check("a wrong configuration changes nothing", not n.write(two(b.ports, "blend=200"))
          and not n.process.send_signal(signal.SIGHUP) and until(lambda: "blend=200 is out of range" in n.log())
          and n.many("/u", 20)[0] == 20)
    n.end()
    b.end()


def dead_worker():
    b = Backends("--servers", "3x64")
    b.fault("kind=hang")
    n = Nginx("dead", two(b.ports), workers=2).start()
    held = n.put("u", 8)
    until(lambda: n.status("u")["keeper"])
    keeper = n.status("u")["keeper"]
    kill(keeper, signal.SIGKILL)
    until(lambda: n.status("u")["keeper"] not in (keeper, 0) and len(set(n.status("u")["workers"]) - {keeper}) == 2)
    u = n.status("u")
    check("a dead worker is replaced, another keeps", keeper not in u["workers"] and u["keeper"] in u["workers"], u)
    b.fault("kind=none")
    got = [q.answer() for q in held]
    lost = got.count(0)
    check("the other one answers", lost + got.count(200) == 8, got)
    check("what it had in flight is given up", until(lambda: n.sum("u", "in_flight") == 0)
          and n.sum("u", "lost") == lost and n.sum("u", "done") == 8 - lost, (got, n.status("u")))
    controls = u["counters"]["controls"]
    check("it goes on to learn", until(lambda: n.status("u")["counters"]["controls"] > controls))
    check("and to serve", n.get("/u")[0] == 200)
    n.end()
    b.end()


def meanwhile(n, *options):
    """A load, and where its counts will be when it has ended."""
    counts = {}
    loader = threading.Thread(target=lambda: counts.update(load(n.port, "/u", *options)))
    loader.start()
    return loader, counts


def dead_backend():
    """Beside nginx's own least_conn: one of three backends dies under load."""
    lost = {}
    for method in ("least_conn", "rllb policy=sed", "rllb policy=learned model=" + MODEL):
        first, others = Backends("--servers", "1x64"), Backends("--servers", "2x64")
        n = Nginx("killed%d" % len(lost), "upstream u { zone u 128k; %s %s; keepalive 16; }\n" % (
            servers(first.ports + others.ports), method), workers=2).start()
        loader, lost[method] = meanwhile(n, "--rate", "300", "--duration", "1.5")
        until(lambda: first.requests() > 30 or not loader.is_alive())
        first.end()
        loader.join()
        n.end()
        others.end()
    base = lost["least_conn"]["failed"]
    for method, c in lost.items():
        check(method + ": nothing lost", c["failed"] <= base and c["sent"] > 300, (base, c))


def reload_under_load():
    """Three reloads while requests come, each on a connection of its own: none is lost, and counts go on."""
    b = Backends("--servers", "3x64", "--delay", "30,30,30")
    n = Nginx("busy", two(b.ports), workers=2, extra="keepalive_timeout 0;").start()
    loader, counts = meanwhile(n, "--rate", "200", "--duration", "2")
    for i in range(3):
        until(lambda: n.sum("u", "done") > 50 * (i + 1) or not loader.is_alive())
        check("reload under load", n.reload(two(b.ports)))
    loader.join()
    check("no request is lost", counts["failed"] == 0 and counts["sent"] > 300, counts)
    check("all are counted", until(lambda: n.sum("u", "done") == counts["sent"]) and n.sum("u", "in_flight") == 0,
          (counts, n.status("u")))
    n.end()
    b.end()


def no_place():
    """When old workers have all places the new ones serve all the same."""
    b = Backends("--servers", "3x64")
    n = Nginx("lingering", two(b.ports, "workers=1"), workers=1).start()
    slow, old = n.put("u", 1, {"X-Work": "1000000"})[0], n.status("u")["workers"]
    n.process.send_signal(signal.SIGHUP)
    check("no place: said", until(lambda: "no place among workers=1" in n.log()), n.log())
    check("no place: serves in turn", n.get("/u")[0] == 200)
    slow.leave()
    check("no place: until one is free", until(lambda: n.status("u")["workers"] not in ([], old)))
    n.end()
    b.end()


# ---- what was learned outlives nginx ---------------------------------------------------------------------------------

def states_folder(name):
    """One that the workers may write into, who are nobody where the test is root's; and nobody else."""
    os.chmod(work, 0o711)
    folder = os.path.join(work, name)
    os.mkdir(folder, 0o700)
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    return folder


def keeping(ports, path, policy="learned model=" + MODEL):
    return "upstream u { zone u 128k; %s rllb policy=%s interval=50ms state=%s save=300ms; }\n" % (
        servers(ports), policy, path)


TRAFFIC = ("--rate", "220", "--work", "10:exp")


def knows(weights, slow):
    """It is by far the least. What a busy machine adds to all durations brings weights nearer to each other."""
    others = [w for port, w in weights.items() if port != slow]
    return weights[slow] < 2 / 3 * sum(others) / len(others)


def learn(n, slow):
    """As much traffic as it takes."""
    for _ in range(30):
        load(n.port, "/u", *TRAFFIC, "--duration", "1")
        if knows(n.weights(), slow):
            return True
    return False


def saves(n):
    """It writes once more."""
    before = n.status("u")["state"]["saved"]
    return until(lambda: n.status("u")["state"]["saved"] > before)


def state_outlives():
    b = Backends("--servers", "2,2,2,2@0.2")
    slow, path = b.ports[3], states_folder("outlives") + "/u.state"
    n = Nginx("state1", keeping(b.ports, path), workers=2).start()
    check("state: none is found at first", not n.status("u")["state"]["found"], n.status("u")["state"])
    check("state: something was learned", learn(n, slow), n.weights())
    check("state: it is written now and then", saves(n) and saves(n))
    check("state: that is told", until(lambda: n.status("u")["state"]["saved_s_ago"] < 5), n.status("u")["state"])
    s, picks = n.status("u")["state"], picks_of(n, "u")
    check("state: and where", s["failed"] == 0 and s["file"] == path, s)
    n.end()
    about = os.stat(path)
    check("state: for its owner alone, and small", about.st_mode & 0o777 == 0o600 and about.st_size < 100000, about)
    check("state: nothing else is left", os.listdir(os.path.dirname(path)) == ["u.state"], os.listdir(work))
    n = Nginx("state2", keeping(b.ports, path), workers=2).start()
    u = n.status("u")
    check("state: found again after a stop", u["state"]["found"] and knows(n.weights(), slow), n.weights())
    check("state: said", "goes on with what %s holds" % path in n.log(), n.log()[-500:])
    check("state: counts go on, nothing is in flight", picks == picks_of(n, "u")
          and all(s["in_flight"] == 0 and s["picks"] == s["done"] + s["lost"] for s in u["servers"]), (picks, u))
    good, _ = n.many("/u", 30)
    check("state: serves", good == 30)
    check("state: a reload keeps it too", n.reload(keeping(b.ports, path)) and knows(n.weights(), slow), n.weights())
    check("state: and goes on to write", saves(n))
    dead = [n.process.pid] + n.status("u")["workers"]
    for pid in dead:
        kill(pid, signal.SIGKILL)
    n.process.wait()
    until(lambda: not any(alive(pid) for pid in dead))
    fresh = Backends("--servers", "1x64")
    n = Nginx("state3", keeping(b.ports[1:] + fresh.ports, path), workers=2).start()
    after = n.weights()
    check("state: found again after kill -9, by server", n.status("u")["state"]["found"]
          and after.keys() == set(b.ports[1:] + fresh.ports) and after[slow] < 0.75 * max(after.values()), after)
    n.end()
    fresh.end()
    b.end()


def state_refused():
    """Files that are not to be used: nginx -t says so and is content, and nginx begins anew."""
    b = Backends("--servers", "3x64")
    folder = states_folder("refused")
    path = folder + "/u.state"
    n = Nginx("refused1", keeping(b.ports, path)).start()
    n.many("/u", 40)
    until(lambda: n.status("u")["keeper"])  # whose last act is to write
    n.end()
    with open(path, "rb") as f:
        good = f.read()

    def says(name, words, data=None, ports=None, **more):
        if data is not None:
            with open(path, "wb") as f:
                f.write(data)
        n.write(keeping(ports or b.ports, path, **more))
        ok, said = n.test()
        check("state: " + name, ok and ("u.state %s: what was learned before is not used" % words in said if words
                                        else "not used" not in said), said)

    says("whole", None, data=good)
    for at, words in ((3, "is no state file"), (9, "was written by another version or machine"),
                      (100, "is damaged"), (len(good) // 2, "is damaged"), (len(good) - 5, "is damaged")):
        turned = bytearray(good)
        turned[at] ^= 0x10
        says("byte %d is turned" % at, words, data=turned)
    says("cut off", "is cut off", data=good[:-9])
    says("nothing but a start", "is no state file", data=good[:100])
    says("a text", "is no state file", data=b"user www-data;\n" * 50)
    says("other servers", "knows none of these servers", data=good, ports=[1, 2, 3])
    says("another policy", "is of another policy", policy="lsq")
    says("other numbers", "is of other settings or another model", policy="learned workers=7 model=" + MODEL)
    os.chmod(path, 0o606)
    says("everybody may write it", "may be written by everybody")
    os.chmod(path, 0o600)
    if os.geteuid() == 0:
        os.chown(path, 1, -1)
        says("somebody else's", "belongs to somebody else")
        os.chown(path, 0, -1)
    says("whole again", None)
    os.remove(path)
    os.mkfifo(path)
    says("a pipe", "is no file")
    os.remove(path)
    says("none", None)

    # Damaged: nginx begins anew, and the file with it. A text stays as it is.
    for data, words, heals in ((good[:-9], "is cut off", True), (b"my notes\n" * 20, "is no state file", False)):
        with open(path, "wb") as f:
            f.write(data)
        n = Nginx("refused%d" % len(data), keeping(b.ports, path)).start()
        check("state: begins anew", not n.status("u")["state"]["found"] and n.many("/u", 20)[0] == 20
              and sum(s["picks"] for s in n.status("u")["servers"]) == 20)
        if heals:
            check("state: and writes", until(lambda: n.status("u")["state"]["saved"] > 0), n.status("u")["state"])
        else:
            check("state: and leaves it", until(lambda: n.status("u")["state"]["failed"] > 1)
                  and n.log().count("is no state file: what is learned is not kept there") == 1, n.log()[-600:])
        n.end()
        with open(path, "rb") as f:
            now = f.read()
        check("state: what lies there then", now != data and len(now) == len(good) if heals else now == data, len(now))
    if os.geteuid() == 0:
        os.chown(folder, 0, -1)
        os.remove(path)
        n = Nginx("refused_rights", keeping(b.ports, path)).start()
        check("state: a folder that is not the workers'", until(lambda: "cannot be read" in n.log() or
              "cannot be written (13: Permission denied)" in n.log()) and n.many("/u", 20)[0] == 20, n.log()[-500:])
        n.end()
    b.end()


def upgrade(n):
    """A new binary takes over while requests come, as docs/nginx.md tells; counts of the load."""
    loader, counts = meanwhile(n, *TRAFFIC, "--duration", "2.5")
    old = n.pid()
    kill(old, signal.SIGUSR2)
    check("upgrade: the new one is there", until(lambda: n.pid() not in (0, old) and children(n.pid())), n.log()[-500:])
    new = n.pid()
    daemons.append(new)
    kill(old, signal.SIGWINCH)
    check("upgrade: old workers end", until(lambda: children(old) == [new]), (old, new, children(old)))
    kill(old, signal.SIGQUIT)
    check("upgrade: the old one ends", until(lambda: not alive(old)), n.log()[-500:])
    loader.join()
    return counts


def upgrade_undone():
    """The new binary is sent away again: it had the file, and a reload gives it back to the old one."""
    b = Backends("--servers", "2,2,2,2@0.2")
    n = Nginx("undone", keeping(b.ports, states_folder("undone_state") + "/s"), workers=2, daemon=True).start()
    check("undone: the old one saves", saves(n))
    old = n.pid()
    kill(old, signal.SIGUSR2)
    check("undone: the new one is there", until(lambda: n.pid() not in (0, old)))
    new = n.pid()
    daemons.append(new)
    check("undone: the old one steps back", until(lambda: "is that of a later nginx by now" in n.log()), n.log())
    kill(new, signal.SIGQUIT)
    check("undone: the new one goes", until(lambda: not alive(new) and n.pid() == old))
    saved = n.status("u")["state"]["saved"]
    kill(old, signal.SIGHUP)
    check("undone: a reload takes the file back", until(lambda: n.status("u")["state"]["saved"] > saved), n.log())
    n.end()
    b.end()


def upgrades():
    """Beside nginx's own least_conn, in the same run."""
    lost = {}
    for name in ("plain", "rllb"):
        b = Backends("--servers", "2,2,2,2@0.2")
        plain = "upstream u { zone u 128k; %s least_conn; }\n" % servers(b.ports)
        n = Nginx("upgrade_" + name, plain if name == "plain" else keeping(b.ports, states_folder("upgraded") + "/s"),
                  workers=2, extra="keepalive_timeout 0;", daemon=True).start()
        if name == "rllb":
            check("upgrade: something was learned, and written", learn(n, b.ports[3]) and saves(n), n.weights())
        lost[name] = upgrade(n)
        if name == "rllb":
            check("upgrade: what was learned is kept", n.status("u")["state"]["found"]
                  and knows(n.weights(), b.ports[3]), (n.status("u"), n.weights()))
        n.end()
        b.end()
    check("upgrade: no more is lost than without the module", lost["rllb"]["failed"] <= lost["plain"]["failed"]
          and lost["rllb"]["sent"] > 400, lost)


# ---- streams ---------------------------------------------------------------------------------------------------------

class Answerers:
    """Servers of TCP or UDP that answer each message with their number."""

    def __init__(self, count, kind):
        self.sockets, self.got = [], [0] * count
        for i in range(count):
            s = socket.socket(socket.AF_INET, kind)
            s.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                s.listen(64)
            self.sockets.append(s)
            threading.Thread(target=self.tcp if kind == socket.SOCK_STREAM else self.udp, args=(i, s),
                             daemon=True).start()
        self.ports = [s.getsockname()[1] for s in self.sockets]

    def tcp(self, i, s):
        while True:
            try:
                c = s.accept()[0]
            except OSError:
                return
            try:
                self.got[i] += bool(c.recv(100))
                c.sendall(b"%d" % i)
            except OSError:
                pass  # whoever asked has gone
            c.close()

    def udp(self, i, s):
        try:
            while True:
                where = s.recvfrom(100)[1]
                self.got[i] += 1
                s.sendto(b"%d" % i, where)
        except OSError:
            pass

    def end(self):
        for s in self.sockets:
            s.close()


def ask(port, kind):
    """What a server answers. A datagram may get lost: it is sent again."""
    for _ in range(3 if kind == socket.SOCK_DGRAM else 1):
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(PATIENCE / 3)
            try:
                s.connect(("127.0.0.1", port))
                s.sendall(b"who")
                return s.recv(100)
            except OSError:
                pass
    return b""


def streams():
    if not os.path.exists(STREAM):
        print("nginx streams: skipped: libnginx-mod-stream is not installed")
        return
    tcp, udp, dead = Answerers(3, socket.SOCK_STREAM), Answerers(3, socket.SOCK_DGRAM), free_port()
    at, state = ports.hold(3), states_folder("streams_state") + "/w"
    n = Nginx("streams", "upstream web { server 127.0.0.1:1; rllb; }\n", workers=2, stream="""
        upstream t { zone t 64k; %s rllb policy=round_robin; }
        upstream w { zone w 64k; server 127.0.0.1:%d max_fails=1 fail_timeout=60s; %s rllb policy=learned model=%s
            interval=50ms state=%s save=200ms; }
        upstream d { zone d 64k; %s rllb policy=weighted_round_robin; }
        server { listen 127.0.0.1:%d; proxy_pass t; }
        server { listen 127.0.0.1:%d; proxy_pass w; }
        server { listen 127.0.0.1:%d udp; proxy_pass d; proxy_responses 1; }
        """ % (servers(tcp.ports), dead, servers(tcp.ports), MODEL, state, servers(udp.ports), *at)).start()
    said = [ask(at[0], socket.SOCK_STREAM) for _ in range(30)]
    check("tcp: all answer", set(said) == {b"0", b"1", b"2"}, said)
    said = [ask(at[1], socket.SOCK_STREAM) for _ in range(30)]
    check("tcp: another when one is dead", all(said), said)
    said = [ask(at[2], socket.SOCK_DGRAM) for _ in range(30)]
    check("udp: all answer", all(said) and set(said) == {b"0", b"1", b"2"}, said)
    # Of 30 questions that got an answer; datagrams that were sent again may have been twice with servers.
    for name, most in (("t", 30), ("w", 30), ("d", sum(udp.got))):
        def counted():
            return sum(s["done"] for s in n.status(name)["servers"] if s["name"] != "127.0.0.1:%d" % dead)
        check("stream %s: counted" % name, until(lambda: 30 <= counted() <= most) and n.sum(name, "in_flight") == 0
              and n.status(name)["protocol"] == "stream", (most, n.status(name)))
    page = families(n.get("/metrics")[2])
    check("stream: metrics", page and any('balancer="stream:w"' in s for s in page["rllb_server_picks_total"]), page)
    check("stream: it writes", until(lambda: n.status("w")["state"]["saved"] > 0), n.status("w"))
    n.end()
    check("stream: what was learned is kept", os.path.exists(state) and os.stat(state).st_mode & 0o777 == 0o600)
    n.stream = n.stream.replace("policy=round_robin", "policy=none_such")
    n.write("upstream web { server 127.0.0.1:1; rllb; }\n")
    ok, said = n.test()
    check("stream: a wrong policy", not ok and 'rllb: no policy "none_such"; one of: sed' in said, said)
    tcp.end()
    udp.end()


# ---- wrong input -----------------------------------------------------------------------------------------------------

WRONG = [
    ("policy=sad", 'rllb: no policy "sad"; one of: sed, nq, '),
    ("policy=gsq", "rllb: gsq is nothing that nginx can run"),
    ("policy=choose", "rllb: choose is nothing that nginx can run"),
    ("polisy=sed", 'rllb: there is no "polisy"; did you mean policy=?'),
    ("policy", "rllb: policy has no value"),
    ("policy=sed policy=nq", "rllb: policy= is there twice"),
    ("fallback=learned", 'rllb: no fallback "learned"; one of: sed'),
    ("policy=learned", "rllb: policy=learned needs model=FILE"),
    ("model=x", "rllb: model= is for policy=learned"),
    ("policy=learned model=/nonexistent/m", "rllb: cannot read /nonexistent/m: No such file"),
    ("policy=learned model=%s/README.md" % root, "README.md: is no whole model file"),
    ("policy=learned d=3 model=" + MODEL, "rllb: form, d, a and gamma are the model's"),
    ("interval=fast", "rllb: interval=fast is not a time"),
    ("interval=0", "rllb: interval=0 is out of range"),
    ("shadow=yes", "rllb: shadow=yes: off or on is wanted"),
    ("blend=101", "rllb: blend=101 is out of range, must be 0 to 100"),
    ("d=2.5", "rllb: d=2.5 is not a whole number"),
    ("servers=1", "servers=1, but there are 2"),
    ("seed=-1", "rllb: seed=-1 is not a whole number"),
    ("save=1s", "rllb: save= is for state=FILE"),
    ("state=/nonexistent/folder/s", "state=/nonexistent/folder/s: there is no such folder"),
    ("state=/dev/null/s", "state=/dev/null/s: there is no such folder"),
    ("state=s save=1ms", "rllb: save=1ms is out of range"),
    ("state=%s/s servers=1024 workers=256" % work, "MB, at most 16 will do"),
    ("key=$nosuch", 'unknown "nosuch" variable'),
]


def wrong_input():
    n = Nginx("wrong", "")
    for words, message in WRONG:
        n.write("upstream u { server 127.0.0.1:1; server 127.0.0.1:2;\n rllb %s; }\n" % words)
        ok, said = n.test()
        where = re.search(r"in \S+nginx.conf:\d+", said) or "variable" in message  # nginx says that one by itself
        check("rllb " + words, not ok and "[emerg]" in said and message in said and where, said)
    with open(MODEL, "rb") as f:
        whole = f.read()
    with open(work + "/cut", "wb") as f:
        f.write(whole[:-100])
    n.write("upstream u { server 127.0.0.1:1; server 127.0.0.1:2;\n rllb policy=learned model=%s/cut; }\n" % work)
    ok, said = n.test()
    check("a model that is cut", not ok and "cut: is no whole model file" in said, said)
    only = "must be the only method of its upstream, and stand before keepalive"
    for body, message in (("keepalive 4; rllb;", only), ("least_conn; rllb;", only), ("rllb; rllb;", "is duplicate")):
        n.write("upstream u { server 127.0.0.1:1; server 127.0.0.1:2;\n %s }\n" % body)
        ok, said = n.test()
        check(body, not ok and message in said, said)
    n.write("".join("upstream %s { server 127.0.0.1:1; rllb state=%s/s; }\n" % (u, work) for u in "ab"))
    ok, said = n.test()
    check("two on one state file", not ok and 'state= is that of upstream "a" already' in said, said)
    n.locations = "location /x { rllb_status yaml; }"
    n.write("upstream u { server 127.0.0.1:1;\n rllb; }\n")
    ok, said = n.test()
    check("rllb_status yaml", not ok and 'rllb_status: no "yaml"; one of: json, prometheus' in said, said)


try:
    for part in (wrong_input, every_policy, equal_shares, rules, limits, retries, reloads, dead_worker, dead_backend,
                 reload_under_load, no_place, state_outlives, state_refused, upgrades, upgrade_undone, streams):
        if len(sys.argv) > 2 and part.__name__ not in sys.argv[2:]:
            continue
        begin = time.monotonic()
        part()
        if os.environ.get("TIMES"):
            print("%-20s %.1f s" % (part.__name__, time.monotonic() - begin))
finally:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for pid in daemons:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                if pid > 0 and work.encode() in f.read():
                    os.kill(pid, signal.SIGTERM)
        except OSError:
            pass
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
