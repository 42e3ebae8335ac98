#!/usr/bin/env python3
"""A double of Nomad's HTTP API, for tests of the UDP allocator: it is not Nomad, and knows nothing but two documented
questions, both of them blocking queries:

    GET /v1/service/NAME?index=N&wait=60s           the registrations of a service
    GET /v1/job/JOB/allocations?index=N&wait=60s    the allocations of a job

It answers when its own index of that list is greater than N, or after the wait, with X-Nomad-Index. Tests say what is
in the lists, and how it misbehaves:

    POST /double?list=services|allocations          body: the JSON array; the index of that list grows by one
    POST /double?mode=well|refuse|garbage|half|slow|gone
    POST /double?index=N                            the index of both lists, forwards or backwards
    GET  /double                                    what was asked, a line each: path, query, token

    udp_nomad.py [--token TEXT] [--for SECONDS]     prints its port
"""
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
token = options.get("--token", "")
news = threading.Condition()
lists = {"services": "[]", "allocations": "[]"}
index = {"services": 1, "allocations": 1}
mode = "well"
asked = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def say(self, status, body, at=None):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if at is not None:
            self.send_header("X-Nomad-Index", str(at))
        self.end_headers()
        self.wfile.write(body if mode != "half" or at is None else body[: len(body) // 2])
        if mode == "half" and at is not None:
            self.close_connection = True

    def do_POST(self):
        global mode
        query = parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with news:
            if "list" in query:
                json.loads(body)
                lists[query["list"][0]] = body
                index[query["list"][0]] += 1
            if "index" in query:
                index["services"] = index["allocations"] = int(query["index"][0])
            mode = query.get("mode", [mode])[0]
            news.notify_all()
        self.say(200, "ok")

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        path = [unquote(part) for part in url.path.split("/")]
        if path[1:] == ["double"]:
            self.say(200, "\n".join(asked) + "\n")
            return
        asked.append("%s %s %s" % (url.path, url.query, self.headers.get("X-Nomad-Token", "-")))
        if token and self.headers.get("X-Nomad-Token") != token or mode == "refuse":
            self.say(403, "Permission denied")
        elif mode == "gone":
            self.close_connection = True
        elif path[1:3] == ["v1", "service"] and len(path) == 4:
            self.block("services", query)
        elif path[1:3] == ["v1", "job"] and len(path) == 5 and path[4] == "allocations":
            self.block("allocations", query)
        else:
            self.say(404, "not found")

    def block(self, which, query):
        before = int(query.get("index", ["0"])[0])
        until = time.monotonic() + float(query.get("wait", ["300s"])[0].rstrip("s"))
        with news:
            while before and index[which] == before and mode == "well" and time.monotonic() < until:
                news.wait(0.5)
            body, at = lists[which], index[which]
        if mode == "slow":
            time.sleep(3)
        self.say(200, "<html>nobody is at home" if mode == "garbage" else body, at)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
timer = threading.Timer(float(options.get("--for", "280")), lambda: os._exit(0))
timer.daemon = True
timer.start()
server.serve_forever()
