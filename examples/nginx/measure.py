#!/usr/bin/env python3
"""Instructions that nginx executes for a request, with the module and with its own methods, counted by callgrind: what
noise does not touch. Requests a second, latencies and all else: make integration.

    python3 examples/nginx/measure.py [--servers N]

Needs build/nginx, build/http/backend, nginx, valgrind. Everything is on the loopback and ends with the script. Several
thousand requests over one connection, keep-alive on both sides, less what a few hundred of them take.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
work = tempfile.mkdtemp()
processes = []
METHODS = [("least_conn", "least_conn"), ("round robin", ""), ("rllb sed", "rllb policy=sed"),
           ("rllb learned", "rllb policy=learned model=" + root + "/models/rllb-balancer.safetensors")]
FEW, MANY = 500, 2500


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


def backends(count):
    """Servers that answer at once: their process and ports."""
    p = start([root + "/build/http/backend", "--servers", "%dx1000" % count], stdout=subprocess.PIPE, text=True)
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


def nginx(method, ports, before):
    """One process that balances by `method`; its process and port."""
    port, folder = free_port(), tempfile.mkdtemp(dir=work)
    paths = "".join("%s_temp_path %s/t;\n" % (p, folder) for p in "client_body proxy fastcgi uwsgi scgi".split())
    servers = "".join("server 127.0.0.1:%d max_fails=0;" % p for p in ports)
    with open(folder + "/nginx.conf", "w") as f:
        f.write("load_module %s/build/nginx/ngx_http_rllb_module.so;\ndaemon off; master_process off; pid %s/pid;\n"
                "error_log /dev/null; events { worker_connections 4096; }\nhttp { access_log off; %s\n"
                "keepalive_requests 1000000000;\nupstream u { zone u 128k; %s %s keepalive 64; }\n"
                "server { listen 127.0.0.1:%d; location / { proxy_pass http://u; proxy_http_version 1.1;\n"
                "proxy_set_header Connection \"\"; } } }\n"
                % (root, folder, paths, servers, method and method + ";", port))
    p = start(before + ["nginx", "-p", folder, "-e", "/dev/null", "-c", folder + "/nginx.conf"],
              stdout=subprocess.DEVNULL)
    wait_for(port)
    return p, port


def executed(method, ports, count):
    """Instructions of an nginx that served so many requests."""
    out = os.path.join(work, "callgrind%d" % time.monotonic_ns())
    p, port = nginx(method, ports, ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out])
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=16)
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    try:
        b, ports = backends(args.servers)
        base = None
        print("%-18s %24s   (%d servers; %d requests less %d)" % (
            "method", "instructions a request", args.servers, MANY, FEW))
        for name, method in METHODS:
            n = (executed(method, ports, MANY) - executed(method, ports, FEW)) / (MANY - FEW)
            base = n if base is None else base
            print("%-18s %24.0f   %+.0f" % (name, n, n - base), flush=True)
        end(b)
    finally:
        for p in processes:
            p.kill()
            p.wait()
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
