"""What docs/embedding.md, nginx.md and haproxy.md tell to do, done as it is printed; embedding.sh calls this with a
folder to work in. Last line: N passed, N failed[, N skipped].

Programs of the pages are compiled and run. Commands run in a copy of the tree made of links, with /usr, /etc, /var and
/run standing for folders of the scratch folder, and ports for others that are free. Some commands are stood in for (see
STAND_INS): what would install packages, build for minutes, look for processes of the whole machine, or wait for seconds
instead of for what is to happen. A command that nothing here runs is a failure, and so is a page without its four
headings."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import ports as reserved

work = sys.argv[1]
project = os.getcwd()
root, tree, shims, pids = (os.path.join(work, n) for n in ("root", "tree", "bin", "pids"))
WARN = ("-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Wundef "
        "-Wdouble-promotion -Werror").split()
passed = failed = skipped = 0
processes, ports = [], {}


def check(name, ok, words=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED %s: %s" % (name, words))
    return ok


def skip(name, why):
    global skipped
    skipped += 1
    print("%s: skipped: %s" % (name, why))


PATIENCE = 40.0  # seconds, that things may take on a busy machine


def until(what):
    """True as soon as that is, False if it is not in the end."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.03)
    return bool(what())


def alive(pid):
    """Runs: one that ended and was not asked for yet does not."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return pid > 0 and f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def number_in(path):
    try:
        return int(read(path))
    except (OSError, ValueError):
        return 0


def get(url):
    """Status and text; 0: no answer."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, ""
    except OSError:
        return 0, ""


# ---- pages -----------------------------------------------------------------------------------------------------------

class Page:
    def __init__(self, name):
        self.name, self.text = name, read("docs/" + name)
        self.blocks = [[m.group(1), m.group(2), False]
                       for m in re.finditer(r"^```(\w*)\n(.*?)^```$", self.text, re.M | re.S)]

    def take(self, language, words, which=0):
        """The block of that language that has these words, as it is printed; it counts as done."""
        found = [b for b in self.blocks if b[0] == language and words in b[1]]
        if len(found) <= which:
            raise RuntimeError("%s has no block of '%s' with '%s'" % (self.name, language, words))
        found[which][2] = True
        return found[which][1]

    def all_done(self, languages):
        left = [b[1].split("\n")[0] for b in self.blocks if b[0] in languages and not b[2]]
        check(self.name + ": every command is run", not left, left)

    def links_lead_somewhere(self):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", self.text):
            if "://" not in target:
                check("%s: %s is there" % (self.name, target), os.path.exists(os.path.join("docs", target)))

    def has_headings(self, wanted):
        found = re.findall(r"^#+ (.*)$", self.text, re.M)
        check(self.name + ": headings", all(w in found for w in wanted), found)


def port(printed):
    """The one that stands for the port of the page."""
    if printed not in ports:
        ports[printed] = reserved.hold(1)[0]
    return ports[printed]


def here(text):
    """With places and ports of the scratch folder."""
    text = re.sub(r"(?<![\w./$-])/(usr|etc|var|run)/", root + r"/\1/", text)
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: "127.0.0.1:%d" % port(int(m.group(1))), text)


def run(name, commands):
    """As printed, but for `here`; what it prints."""
    env = dict(os.environ, PATH=shims + ":" + root + "/usr/local/sbin:" + os.environ["PATH"])
    begin = time.monotonic()
    p = subprocess.run(["/bin/sh", "-e", "-c", here(commands)], capture_output=True, text=True, cwd=tree, env=env,
                       timeout=250)
    if os.environ.get("TIMES"):
        print("%-40s %.1f s" % (name, time.monotonic() - begin))
    check(name, p.returncode == 0, "exit status %d: %s%s" % (p.returncode, p.stdout[-800:], p.stderr[-800:]))
    return p.stdout


STAND_INS = {
    # Packages: setup.sh knows them by name.
    "apt-get": 'for p in "$@"; do\n    case $p in install|-*) continue ;; esac\n'
               '    grep -qw -- "$p" PROJECT/setup.sh || exit 1\ndone',
    # A minute of building was done before; that the target exists is what is to be seen.
    "make": 'exec REAL -n "$@" >/dev/null',
    "sh": '[ "$1" = setup.sh ] || exec REAL "$@"\ngrep -qw -- "$2" PROJECT/setup.sh',
    "nginx": 'exec REAL -p ROOT/usr/share/nginx/ -c ROOT/etc/nginx/nginx.conf -e ROOT/var/log/nginx/error.log "$@"',
    # By the number that the program left, not by its name.
    "pkill": '[ "$2" = -x ] && kill "$1" "$(cat "PIDS/$3")"',
    # Only root may give files away.
    "install": 'if [ "$(id -u)" = 0 ] && id www-data >/dev/null 2>&1; then exec REAL "$@"; fi\n'
               'for a in "$@"; do\n    shift\n    case $a in -o|-g|www-data) ;; *) set -- "$@" "$a" ;; esac\ndone\n'
               'exec REAL "$@"',
    "rllb-companion": 'case "$*" in *--reset*) exec ROOT/usr/local/sbin/rllb-companion "$@" ;; esac\n'
                      'ROOT/usr/local/sbin/rllb-companion "$@" --for 300 >PIDS/out 2>&1 &\n'
                      'echo $! >PIDS/rllb-companion\n'
                      'tries=0\nwhile [ $tries -lt 800 ]; do\n'
                      '    grep -q "^ready" PIDS/out && exit 0\n    kill -0 $! 2>/dev/null || tries=800\n'
                      '    REAL_sleep 0.05\n    tries=$((tries + 1))\ndone\ncat PIDS/out >&2\nexit 1',
    # Pages wait for some seconds until another nginx has taken over: here as long as it takes.
    "sleep": 'tries=0\nwhile [ ! -s ROOT/run/nginx.pid ] || [ ! -s ROOT/run/nginx.pid.oldbin ]; do\n'
             '    [ $tries -lt 800 ] || exit 1\n    REAL_sleep 0.05\n    tries=$((tries + 1))\ndone',
    "rllb-proxy": 'echo $$ >PIDS/rllb-proxy\nexec ROOT/usr/local/sbin/rllb-proxy "$@" >PIDS/out 2>&1',
}


def stand_ins_make():
    for folder in (tree, shims, pids, root + "/usr/local/sbin", root + "/run", root + "/var/lib", root + "/etc"):
        os.makedirs(folder)
    os.chmod(work, 0o711)
    for name in os.listdir(project):
        if not name.startswith("."):
            os.symlink(os.path.join(project, name), os.path.join(tree, name))
    for name, text in STAND_INS.items():
        values = {"PROJECT": project, "ROOT": root, "PIDS": pids, "REAL_sleep": shutil.which("sleep"),
                  "REAL": shutil.which(name) or "false"}
        for word, value in values.items():
            text = text.replace(word, value)
        write(os.path.join(shims, name), "#!/bin/sh\n%s\n" % text, 0o755)


def backends():
    """The servers of the pages, 8001 to 8004."""
    p = subprocess.Popen([project + "/build/http/backend", "--for", "300", "--servers", "4x64"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    processes.append(p)
    line, found = "-", []
    while line and line != "ready\n":
        line = p.stdout.readline()
        if line.startswith("server"):
            found.append(int(line.rsplit(":", 1)[1]))
    ports.update({8001 + i: found[i] for i in range(4)})


# ---- a balancer of one's own -----------------------------------------------------------------------------------------

def compiled(name, source):
    """By every compiler there is, strictly; the program of the first."""
    path = os.path.join(work, name)
    write(path + ".c", source)
    for compiler in ("gcc", "clang"):
        if not shutil.which(compiler):
            continue
        p = subprocess.run([compiler, *WARN, "-O0", "-I.", "-DRLLB_NO_SIMD", path + ".c", "-o", path, "-lm"],
                           capture_output=True, text=True)
        check("%s compiles with %s" % (name, compiler), p.returncode == 0, p.stderr[:800])
    return path


SIZES = """
#define RLLB_IMPLEMENTATION
#include "rllb.h"
#include <stdio.h>
int main(void)
{
    static const int32_t of[][2] = { %s };
    static _Alignas(64) unsigned char somewhere[64];
    size_t i;
    for (i = 0; i < sizeof of / sizeof *of; i++) {
        rllb_balancer_desc d;
        size_t handle, shared;
        rllb_balancer_desc_default(&d);
        d.count = of[i][0], d.workers = of[i][1], d.shared = somewhere;
        handle = rllb_balancer_size(&d), shared = rllb_balancer_shared_size(&d);
        d.policy = RLLB_BALANCE_LEARNED, d.features = RLLB_FEATURES_RELATIVE, d.form = RLLB_FORM_DRAW;
        d.control_form = d.control_steps = true;
        printf("%%d %%d %%zu %%zu %%zu %%zu\\n", of[i][0], of[i][1], handle, shared, rllb_balancer_size(&d),
               rllb_balancer_shared_size(&d));
    }
    return 0;
}
"""


def sizes(page):
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", page.text, re.M)
    rows = [[int(n.replace(",", "")) for n in row] for row in rows]
    path = os.path.join(work, "sizes")
    write(path + ".c", SIZES % ", ".join("{ %d, %d }" % (r[0], r[1]) for r in rows))
    p = subprocess.run(["cc", "-I.", "-DRLLB_NO_SIMD", path + ".c", "-o", path, "-lm"], capture_output=True, text=True)
    said = subprocess.run([path], capture_output=True, text=True).stdout if p.returncode == 0 else p.stderr
    is_so = [[int(n) for n in line.split()] for line in said.splitlines()] if p.returncode == 0 else said
    check("embedding.md: sizes are as printed", rows and rows == is_so, is_so)


def own(page):
    source = page.take("c", "TIME ask")
    lines = [line for line in source.split("\n") if line.strip()]
    body = source[source.index("{\n") + 2:source.rindex("}")]
    check("embedding.md: twenty lines", len([line for line in body.split("\n") if line.strip()]) <= 20, len(lines))
    compiled("twenty", source)
    write(os.path.join(tree, "balance.c"), source)
    said = run("embedding.md: built and run", page.take("sh", "./balance"))
    check("embedding.md: it answers as the page says", said.split() == "2 2 1 2".split(), said)
    text = "".join("%g ask\n%g failed 2 %g\n" % (i, i + 0.001, i) for i in range(5)) + "5 ask\n"
    said = subprocess.run([tree + "/balance"], input=text, capture_output=True, text=True, timeout=100).stdout.split()
    check("embedding.md: who fails is left", said[:1] == ["2"] and said[-1] != "2" and len(said) == 6, said)
    p = subprocess.run([compiled("workers", page.take("c", "fork()"))], capture_output=True, text=True, timeout=100)
    counts = [int(line.split()[0]) for line in p.stdout.splitlines()]
    check("embedding.md: four processes", p.returncode == 0 and len(counts) == 3 and sum(counts) == 12000, p.stdout)
    sizes(page)
    programs = page.take("sh", "build/embed\n")
    if all(os.path.exists(line.split()[0]) for line in programs.splitlines()):
        check("embedding.md: the other programs", "weight found" in run("embedding.md: programs", programs))
    else:
        skip("embedding.md: the other programs", "they are not built")


def proxy(page):
    commands = [page.take("sh", w) for w in ("build/http/proxy /usr", "rllb-proxy --config", ":8090/metrics",
                                             "X-Rllb-Admin")]
    if not os.path.exists("build/http/proxy") or not shutil.which("curl"):
        skip("embedding.md: the HTTP proxy", "build/http/proxy is not built, or curl is not installed")
        return
    run("proxy: install", commands[0])
    conf = root + "/etc/rllb-proxy.conf"
    write(conf, here(read(conf)))
    run("proxy: starts", commands[1])
    status = "http://127.0.0.1:%d/status.json" % port(8090)
    if check("proxy: serves", until(lambda: get("http://127.0.0.1:%d/" % port(8080))[0] == 200), read(pids + "/out")):
        check("proxy: metrics", "rllb_server_picks_total{" in run("proxy: watch", commands[2]))
        check("proxy: in shadow", "the fallback serves" in run("proxy: back", commands[3]))
        check("proxy: another policy", until(lambda: '"lsq"' in get(status)[1]), get(status)[1][:300])
        check("proxy: still serves", get("http://127.0.0.1:%d/" % port(8080))[0] == 200)
    end_of("rllb-proxy")


def end_of(name, how=signal.SIGTERM):
    pid = number_in(os.path.join(pids, name))
    if alive(pid):
        os.kill(pid, how)
    check(name + " ends", until(lambda: not alive(pid)))


# ---- nginx -----------------------------------------------------------------------------------------------------------

NGINX_CONF = """%sworker_processes 2;
pid ROOT/run/nginx.pid;
error_log ROOT/var/log/nginx/error.log info;
include ROOT/etc/nginx/modules-enabled/*.conf;
events { worker_connections 256; }
http {
    access_log off;
    %s
    include ROOT/etc/nginx/conf.d/*.conf;
}
include ROOT/etc/nginx/stream.con[f];
"""


def nginx_begin():
    """As Debian's packages leave it."""
    user = "user www-data;\n" if os.geteuid() == 0 and "www-data" in read("/etc/passwd") else ""
    for folder in ("etc/nginx/conf.d", "etc/nginx/modules-enabled", "usr/lib/nginx/modules", "usr/share/nginx",
                   "var/log/nginx"):
        os.makedirs(os.path.join(root, folder))
    os.symlink(root + "/usr/lib/nginx/modules", root + "/usr/share/nginx/modules")
    stream = "/usr/lib/nginx/modules/ngx_stream_module.so"
    if os.path.exists(stream):
        os.symlink(stream, root + stream)
        write(root + "/etc/nginx/modules-enabled/50-mod-stream.conf", "load_module modules/ngx_stream_module.so;\n")
    paths = " ".join("%s_temp_path %s/var/%s;" % (p, root, p) for p in "client_body proxy fastcgi uwsgi scgi".split())
    write(root + "/etc/nginx/nginx.conf", (NGINX_CONF % (user, paths)).replace("ROOT", root))
    return os.path.exists(stream)


def nginx_pid():
    return number_in(root + "/run/nginx.pid")


def upstream():
    """As the worker tells that answers; {}: it has no place yet."""
    text = get("http://127.0.0.1:%d/rllb" % port(8080))[1]
    found = [u for u in json.loads(text)["upstreams"] if u["upstream"] == "backend"] if text else []
    return found[0] if found else {}


def requests(count):
    return sum(get("http://127.0.0.1:%d/" % port(8080))[0] == 200 for _ in range(count))


def nginx_watch(page):
    requests(20)
    said = run("nginx: watch", page.take("sh", "/rllb\n"))
    check("nginx: both pages", said.startswith('{"pid"') and 'rllb_server_picks_total{balancer="backend"' in said, said)
    said = run("nginx: roll out", page.take("sh", "shadow=on"))
    check("nginx: shadow is counted", '"shadow_picks":' in said and '"shadow_differs":' in said, said)
    check("nginx: then blended", until(lambda: upstream().get("blend") == 20 and upstream().get("shadow") is False),
          upstream())


def nginx_upgrade(page):
    old = nginx_pid()
    run("nginx: upgrade", page.take("sh", "USR2"))
    check("nginx: the new one has taken over", until(lambda: not alive(old)) and alive(nginx_pid()) and
          requests(5) == 5, read(root + "/var/log/nginx/error.log")[-600:])
    check("nginx: the state is written", until(lambda: os.path.exists(root + "/var/lib/rllb-nginx/backend.state")))


def nginx(page):
    needed = ("build/nginx/ngx_http_rllb_module.so", "build/http/backend", "models/rllb-balancer.safetensors")
    missing = [n for n in needed if not os.path.exists(n)] + [n for n in ("nginx", "curl") if not shutil.which(n)]
    if missing:
        skip("nginx.md", "%s is not there" % missing[0])
        return
    has_streams = nginx_begin()
    run("nginx: install", page.take("sh", "apt-get install"))
    write(root + "/etc/nginx/conf.d/backend.conf", here(page.take("nginx", "upstream backend")))
    streams = here(page.take("nginx", "upstream resolvers"))
    if has_streams:
        run("nginx: install for streams", re.search(r"`(echo '[^`]*stream_rllb[^`]*)`", page.text).group(1))
        write(root + "/etc/nginx/stream.conf", streams)
    else:
        skip("nginx.md, streams", "libnginx-mod-stream is not installed")
    run("nginx: starts", "nginx -t && nginx")
    if not check("nginx: serves", until(lambda: get("http://127.0.0.1:%d/" % port(8080))[0] == 200),
                 read(root + "/var/log/nginx/error.log")[-600:]):
        return
    nginx_watch(page)
    nginx_upgrade(page)
    commands = page.take("sh", "least_conn")
    if has_streams:
        run("nginx: roll back streams", commands.split("\n")[0].replace("conf.d/backend.conf", "stream.conf"))
    run("nginx: roll back", commands)
    check("nginx: the module is gone",
          until(lambda: alive(nginx_pid()) and "rllb" not in read("/proc/%d/maps" % nginx_pid())))
    check("nginx: it serves without",  # old workers may take a request or two still
          until(lambda: "upstreams" not in get("http://127.0.0.1:%d/rllb" % port(8080))[1]) and requests(10) == 10)
    pid = nginx_pid()
    if pid > 0:
        os.kill(pid, signal.SIGQUIT)
    check("nginx: ends", pid > 0 and until(lambda: not alive(pid)))
    page.all_done(("sh", "nginx"))


# ---- HAProxy ---------------------------------------------------------------------------------------------------------

def fragments(page):
    """What the page prints of HAProxy's configuration is in the example, or is good in its place there."""
    example = [re.sub(r"\s*#.*", "", line).rstrip() for line in read("examples/haproxy/haproxy.cfg").splitlines()]
    for line in page.take("", "stats socket").splitlines():
        check("haproxy.md: '%s' is in the example" % line.strip(), re.sub(r"\s+#.*", "", line).rstrip() in example)
    agent = page.take("", "agent-check").rstrip("\n")
    path = os.path.join(work, "agent.cfg")
    write(path, re.sub(r"^ *server s1 .*$", lambda m: agent, read("examples/haproxy/haproxy.cfg"), flags=re.M))
    p = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True)
    check("haproxy.md: agent-check", p.returncode == 0, p.stderr)


def haproxy_start():
    os.makedirs(root + "/run/haproxy")
    write(work + "/h.cfg", here(read("examples/haproxy/haproxy.cfg")))
    with open(work + "/h.out", "w") as out:
        processes.append(subprocess.Popen(["haproxy", "-db", "-f", work + "/h.cfg"], stdout=out, stderr=out))
    return until(lambda: get("http://127.0.0.1:%d/" % port(8000))[0] == 200)


def percent(name):
    """What an agent check of that server is told; 0: nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port(5141)), timeout=PATIENCE) as s:
            s.sendall(name.encode() + b"\n")
            m = re.fullmatch(rb"(\d+)%\n", s.recv(100))
            return int(m.group(1)) if m else 0
    except OSError:
        return 0


def haproxy_rights():
    """The socket for log lines is for owner and group. Liars and idlers are borne: percentages stay in bounds, and
    whoever comes next is answered."""
    run("haproxy: log by a path", "rllb-companion --agent 127.0.0.1:5141 --servers s1,s2,s3 --backend app "
        "--log unix:/run/log.sock --floor 0.5 --ceiling 2")
    mode = os.stat(root + "/run/log.sock").st_mode & 0o777
    check("haproxy: mode 660", mode == 0o660, oct(mode))
    idlers = [socket.create_connection(("127.0.0.1", port(5141)), timeout=PATIENCE) for _ in range(90)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(root + "/run/log.sock")
        for i in range(4000):  # s1 at once, s2 never, and what is no line
            s.send((b"app/s1 0/0/0/0/0 200 ---- 1/1/1/1/0 0/0", b"app/s2 0/0/0/60000/60000 200 ---- 9/9/9/9999/0 0/0",
                    b"app/s1 -9/9999999999/x", b"\0\xff\n")[i % 4])
            time.sleep(0.0005)
    check("haproxy: idlers do not keep others out", until(lambda: percent("s2") > 0))
    check("haproxy: liars are heard", until(lambda: 0 < percent("s2") < percent("s1")))
    said = [percent(n) for n in ("s1", "s2", "s3")]
    check("haproxy: liars stay in bounds", min(said) > 0 and max(said) <= 4.2 * min(said), said)
    for s in idlers:
        s.close()


def haproxy(page):
    missing = [n for n in ("build/haproxy/companion", "build/http/backend") if not os.path.exists(n)]
    if missing or not shutil.which("haproxy"):
        skip("haproxy.md", "%s is not there" % (missing + ["haproxy"])[0])
        return
    fragments(page)
    run("haproxy: install", page.take("sh", "setup.sh deps"))
    if not check("haproxy: serves", haproxy_start(), read(work + "/h.out")):
        return
    status = root + "/run/rllb-app.prom"
    run("haproxy: configure", page.take("sh", "--shadow"))
    until(lambda: get("http://127.0.0.1:%d/" % port(8000))[0] == 200 and os.path.exists(status)
          and not re.search(r"^rllb_haproxy_lines_total 0$", read(status), re.M))
    said = run("haproxy: watch", page.take("sh", "grep -E"))
    check("haproxy: it hears of requests", re.search(r"^rllb_haproxy_lines_total [1-9]", said, re.M)
          and 'rllb_haproxy_wanted{server="s1"}' in said, said)
    end_of("rllb-companion")
    check("haproxy: the state is kept", os.path.exists(root + "/var/lib/rllb/app.state"), os.listdir(root + "/var/lib"))
    run("haproxy: without a socket", page.take("sh", "--agent"))
    check("haproxy: the agent answers", until(lambda: percent("s1") > 0))
    end_of("rllb-companion")
    haproxy_rights()
    before = number_in(pids + "/rllb-companion")
    run("haproxy: roll back", page.take("sh", "pkill"))
    check("haproxy: the companion is gone", until(lambda: not alive(before)))
    page.all_done(("sh", ""))


# ---- all of it -------------------------------------------------------------------------------------------------------

def begin():
    stand_ins_make()
    if os.path.exists("build/http/backend"):
        backends()


try:
    begin()
    pages = [Page(n) for n in ("embedding.md", "nginx.md", "haproxy.md")]
    for p in pages:
        p.links_lead_somewhere()
    for p in pages[1:]:
        p.has_headings(("Install", "Configure", "Watch", "Roll back"))
    pages[0].has_headings(("Twenty lines", "What to call when", "Workers and processes", "The learned policy",
                           "Guard rails", "Shadow, blend, roll back", "Watch", "Sizes", "In what you have already"))
    own(pages[0])
    proxy(pages[0])
    pages[0].all_done(("sh", "c"))
    nginx(pages[1])
    haproxy(pages[2])
finally:
    for name in ("rllb-companion", "rllb-proxy"):
        if alive(number_in(os.path.join(pids, name))):
            os.kill(number_in(os.path.join(pids, name)), signal.SIGTERM)
    for path in (root + "/run/nginx.pid", root + "/run/nginx.pid.oldbin"):
        if alive(number_in(path)):
            os.kill(number_in(path), signal.SIGTERM)
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
if skipped:
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
else:
    print("%d passed, %d failed" % (passed, failed))
sys.exit(1 if failed else 0)
