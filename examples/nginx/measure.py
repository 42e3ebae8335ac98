#!/usr/bin/env python3
"""What the nginx module costs, and what it is worth, beside nginx's own methods in the same run.

    python3 examples/nginx/measure.py cost [--rounds N]      by wrk, in turns: requests a second, P99, and requests for
                                                             a second of the worker's processor time
    python3 examples/nginx/measure.py instructions           executed for a request, by callgrind
    python3 examples/nginx/measure.py farm [--rounds N] [--seconds S]
                                                             seven servers of which two are slow and nobody told

Needs build/nginx, build/http/backend, build/http/load; wrk, valgrind. Everything is on the loopback and ends with the
script. Medians over the rounds; the farm's percentiles are those of requests after the first half of a run.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
work = tempfile.mkdtemp()
processes = []
MODEL = root + "/models/rllb-balancer.safetensors"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, **more):
    p = subprocess.Popen(command, stderr=subprocess.DEVNULL, **more)
    processes.append(p)
    return p


def end(p):
    p.send_signal(signal.SIGTERM)
    p.wait()
    processes.remove(p)


def backends(*options):
    p = start([root + "/build/http/backend"] + list(options), stdout=subprocess.PIPE, text=True)
    ports = []
    for line in p.stdout:
        if line.startswith("server"):
            ports.append(int(line.rsplit(":", 1)[1]))
        if line == "ready\n":
            return p, ports
    raise SystemExit("measure: the backend does not start")


def wait_for(port):
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("measure: nginx does not start")


def nginx(method, ports, weights=None, before=(), single=False):
    """A worker that balances by `method`; its process and port."""
    port, folder = free_port(), tempfile.mkdtemp(dir=work)
    paths = "".join("%s_temp_path %s/t;\n" % (p, folder) for p in "client_body proxy fastcgi uwsgi scgi".split())
    servers = "".join("server 127.0.0.1:%d weight=%d max_fails=0;" % (p, w)
                      for p, w in zip(ports, weights or [1] * len(ports)))
    with open(folder + "/nginx.conf", "w") as f:
        f.write("load_module %s/build/nginx/ngx_http_rllb_module.so;\ndaemon off; worker_processes 1; pid %s/pid;\n"
                "error_log /dev/null; %s events { worker_connections 4096; }\nhttp { access_log off; %s\n"
                "keepalive_requests 1000000000;\nupstream u { zone u 128k; %s %s keepalive 64; }\n"
                "server { listen 127.0.0.1:%d; location / { proxy_pass http://u; proxy_http_version 1.1;\n"
                "proxy_set_header Connection \"\"; } location /status { rllb_status; } } }\n"
                % (root, folder, "master_process off;" if single else "", paths, servers, method and method + ";",
                   port))
    p = start(list(before) + ["nginx", "-p", folder, "-e", "/dev/null", "-c", folder + "/nginx.conf"],
              stdout=subprocess.DEVNULL)
    wait_for(port)
    return p, port


METHODS = [("least_conn", "least_conn"), ("least_conn again", "least_conn"), ("round robin", ""),
           ("rllb sed", "rllb policy=sed"), ("rllb learned", "rllb policy=learned model=" + MODEL)]


# ---- cost ------------------------------------------------------------------------------------------------------------

def wrk(port, seconds):
    out = subprocess.run(["wrk", "-t1", "-c32", "-d%ds" % seconds, "--latency", "http://127.0.0.1:%d/" % port],
                         capture_output=True, text=True).stdout
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), \
        float(p99) * {"us": 1e-3, "ms": 1, "s": 1000}[unit]


def processor_s(pid):
    with open("/proc/%d/schedstat" % pid) as f:
        return 1e-9 * int(f.read().split()[0])


def cost(rounds, seconds):
    b, ports = backends("--servers", "3x1000")
    got = {name: [] for name, _ in METHODS}
    for r in range(rounds):
        for name, method in METHODS[r % len(METHODS):] + METHODS[:r % len(METHODS)]:
            p, port = nginx(method, ports, single=True)
            wrk(port, 1)
            before = processor_s(p.pid)
            rate, p99 = wrk(port, seconds)
            got[name].append((rate, p99, rate * seconds / (processor_s(p.pid) - before)))
            end(p)
    end(b)
    print("%-18s %10s %8s %16s   the last over least_conn's, paired by round" % (
        "method", "requests/s", "P99 ms", "a processor's s"))
    for name, _ in METHODS:
        rate, p99, core = (statistics.median(v) for v in zip(*got[name]))
        ratio = [a[2] / b[2] for a, b in zip(got[name], got["least_conn"])]
        print("%-18s %10.0f %8.2f %16.0f   %.3f (%.3f to %.3f)" % (name, rate, p99, core, statistics.median(ratio),
                                                                   min(ratio), max(ratio)))


def executed(method, ports, count):
    """Instructions of an nginx that served so many requests."""
    out = os.path.join(work, "callgrind%d" % time.monotonic_ns())
    p, port = nginx(method, ports, before=["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out],
                    single=True)
    with socket.create_connection(("127.0.0.1", port)) as s:
        f = s.makefile("rb")
        for _ in range(count):
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            length = 0
            for line in iter(f.readline, b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            f.read(length)
    end(p)
    with open(out) as f:
        return int(re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M).group(1))


def instructions():
    b, ports = backends("--servers", "16x1000")
    few, many, base = 500, 2500, None
    print("%-18s %24s   (16 servers; %d requests less %d)" % ("method", "instructions a request", many, few))
    for name, method in METHODS[:1] + METHODS[2:]:
        n = (executed(method, ports, many) - executed(method, ports, few)) / (many - few)
        base = n if base is None else base
        print("%-18s %24.0f   %+.0f" % (name, n, n - base))
    end(b)


# ---- farm ------------------------------------------------------------------------------------------------------------

SPEC = "3x2,1x2@0.3,2x4,1x4@0.3"  # the farm of four servers with 2 slots, three with 4; one of each at 0.3
STALE, ORACLE = [1, 1, 1, 1, 2, 2, 2], [20, 20, 20, 6, 40, 40, 12]
FARM = [("least_conn", "least_conn", None), ("least_conn 1:2", "least_conn", STALE),
        ("rllb sed, stale", "rllb policy=sed", STALE), ("rllb sed, oracle", "rllb policy=sed", ORACLE),
        ("rllb equalise", "rllb policy=equalise by=stretch", None),
        ("rllb learned", "rllb policy=learned model=" + MODEL, None)]


def farm_run(method, weights, balancers, seconds, seed):
    b, ports = backends("--servers", SPEC)
    fronts = [nginx(method, ports, weights) for _ in range(balancers)]
    out = tempfile.mkdtemp(dir=work)
    subprocess.run([root + "/build/http/load", "--quiet", "--url", ",".join("http://127.0.0.1:%d/" % port for _, port
                    in fronts), "--rate", "520", "--duration", str(seconds), "--work", "25:exp", "--warmup", "0.5",
                    "--seed", str(seed), "--out", out], stdout=subprocess.DEVNULL)
    for p in [f[0] for f in fronts] + [b]:
        end(p)
    with open(out + "/results.json") as f:
        result = json.load(f)
    return result["latency_ms"], result["counts"]


def farm(rounds, seconds):
    print("%-9s %-18s %8s %8s %8s %8s  %s" % ("balancers", "method", "mean", "P50", "P90", "P99", "P99 of each round"))
    for balancers in (1, 2):
        got = {name: [] for name, _, _ in FARM}
        for r in range(rounds):
            for name, method, weights in FARM:
                latency, counts = farm_run(method, weights, balancers, seconds, r + 1)
                if counts["failed"]:
                    print("%s: %d of %d failed" % (name, counts["failed"], counts["sent"]))
                got[name].append(latency)
        for name, _, _ in FARM:
            figures = [statistics.median(l[k] for l in got[name]) for k in ("mean", "p50", "p90", "p99")]
            print("%-9d %-18s %8.1f %8.1f %8.1f %8.1f  %s" % (balancers, name, *figures, " ".join(
                "%.0f" % l["p99"] for l in got[name])), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["cost", "instructions", "farm"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=0, help="of a run: 2 for cost, 30 for farm")
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    try:
        if args.part == "cost":
            cost(args.rounds, args.seconds or 2)
        elif args.part == "instructions":
            instructions()
        else:
            farm(args.rounds, args.seconds or 30)
    finally:
        for p in processes:
            p.kill()
            p.wait()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
