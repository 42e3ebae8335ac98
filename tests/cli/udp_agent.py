"""What udp_agent.sh needs beside a shell. Standard library only, and little of it: it is started often.

    double LOG MODE             HTTP on a port that it prints; answers as the file MODE says (see Double); LOG: of each
                                request path, Authorization, number of lines, status, a | between; LOG.lines: bodies
                                that it took
    sink FILE [PORT]            UDP on a port that it prints; what comes goes to FILE.lines at once, the sizes of the
                                datagrams, a line each, to FILE.sizes
    influx URL DATABASE QUERY   rows of InfluxDB's answer: name|tags|values
    get URL                     the body
    check-lines FILE            every line is one of line protocol, cpu shares add up to 100
    hcl FILE PROGRAM=HELP...    a job file is in order: see Hcl; HELP: file with what --help says
    hcl-args FILE NAME=VALUE... the arguments of the job's program, a line each, with these values for ${NAME}"""

import re
import socket
import sys
import time


def double(log, mode):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Double(BaseHTTPRequestHandler):
        """The first line of the file MODE is a status, the rest the words of the answer. {auth} stands for what came as
        Authorization. Status 0: no answer, the connection stays; 1: it is closed half-way through one."""

        protocol_version = "HTTP/1.1"
        log_file = mode_file = ""

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            auth = self.headers.get("Authorization", "-")
            with open(self.mode_file, encoding="utf-8") as f:
                status, _, words = f.read().partition("\n")
            status = int(status)
            with open(self.log_file, "a", encoding="utf-8") as f:
                f.write(f"{self.path}|{auth}|{body.count(chr(10))}|{status}\n")
            if status == 0:
                time.sleep(300)
                return
            if status == 1:
                self.wfile.write(b"HTTP/1.1 204 No")
                self.close_connection = True
                return
            if status // 100 == 2:
                with open(self.log_file + ".lines", "a", encoding="utf-8") as f:
                    f.write(body)
            answer = words.replace("{auth}", auth).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
            if status != 204:
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if status != 204:
                self.wfile.write(answer)

        def log_message(self, *_):
            pass

    Double.log_file, Double.mode_file = log, mode
    server = ThreadingHTTPServer(("127.0.0.1", 0), Double)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


def sink(path, port=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))
    print(s.getsockname()[1], flush=True)
    with open(path + ".lines", "wb") as lines, open(path + ".sizes", "w", encoding="ascii") as sizes:
        while True:
            got = s.recv(65536)
            sizes.write(f"{len(got)}\n")
            sizes.flush()
            lines.write(got)
            lines.flush()


def fetch(url, method="GET"):
    """The body, whatever the status."""
    host, _, path = url.split("://", 1)[1].partition("/")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=60) as s:
        s.sendall(f"{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = b""
        while got := s.recv(65536):
            answer += got
    return answer.partition(b"\r\n\r\n")[2].decode()


def escape(text):
    return "".join(f"%{b:02X}" for b in text.encode())


def influx(url, database, query):
    import json

    change = query.split()[0] in ("CREATE", "DROP")
    text = fetch(f"{url}/query?db={escape(database)}&q={escape(query)}&epoch=ns", "POST" if change else "GET")
    answer = json.loads(text)
    if "error" in answer:
        print("error", answer["error"], sep="|")
    for result in answer.get("results", []):
        if "error" in result:
            print("error", result["error"], sep="|")
        for series in result.get("series", []):
            tags = ",".join(f"{k}={v}" for k, v in sorted(series.get("tags", {}).items()))
            for row in series.get("values", []):
                cells = [f"{c}={json.dumps(v)}" for c, v in zip(series["columns"], row) if v is not None]
                print(series.get("name", ""), tags, *cells, sep="|")


def check_lines(path):
    number, sums = 0, {}
    shape = re.compile(r"(cpu|mem|net)((?:,[a-z]+=(?:[^\\, =]|\\[, =])+)+) ([a-z_]+=-?[0-9.e+-]+i?"
                       r"(?:,[a-z_]+=-?[0-9.e+-]+i?)*) ([0-9]{19})$")
    with open(path, encoding="utf-8") as f:
        for line in f:
            number += 1
            m = shape.match(line.rstrip("\n"))
            if not m:
                sys.exit(f"line {number} is none: {line}")
            if m.group(1) == "cpu":
                total = sum(float(x.split("=")[1]) for x in m.group(3).split(","))
                if abs(total - 100) > 1e-4:
                    sys.exit(f"line {number}: shares add up to {total}")
            sums[m.group(1)] = sums.get(m.group(1), 0) + 1
    print(*[f"{k} {v}" for k, v in sorted(sums.items())], sep="\n")


class Hcl:
    """Reads a job file as far as a check by eye would: blocks nest and close, strings end, every attribute and block is
    one that Nomad's documentation has in that place, every variable that is named is declared, and every option given
    to a program is in its help."""

    KNOWN = {
        "": {"variable", "job"},
        "variable": {"type", "description", "default"},
        "job": {"type", "datacenters", "constraint", "update", "group"},
        "constraint": {"attribute", "value", "operator"},
        "update": {"max_parallel", "health_check", "min_healthy_time", "healthy_deadline", "progress_deadline",
                   "auto_revert", "stagger"},
        "group": {"count", "restart", "network", "service", "task"},
        "restart": {"interval", "attempts", "delay", "mode"},
        "network": {"mode", "port"},
        "port": {"static", "to"},
        "service": {"provider", "name", "port", "tags"},
        "task": {"driver", "config", "template", "env", "identity", "kill_signal", "kill_timeout", "resources"},
        "config": {"command", "args"},
        "identity": {"env", "file"},
        "template": {"data", "destination", "env", "change_mode", "perms"},
        "resources": {"cpu", "memory"},
    }
    TOKEN = re.compile(r"\s+|#[^\n]*|(?P<heredoc><<-?(?P<mark>\w+)\n.*?\n\s*(?P=mark)(?=\n))"
                       r'|(?P<string>"(?:[^"\\\n]|\\.)*")'
                       r"|(?P<word>[A-Za-z_][\w.-]*)|(?P<number>\d+)|(?P<sign>[{}\[\]=,])", re.S)

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.path, self.text, self.at, self.tokens = path, text, 0, []
        position = 0
        while position < len(text):
            m = self.TOKEN.match(text, position)
            if not m:
                sys.exit(f"{path}: nothing that HCL knows: {text[position:position + 40]!r}")
            if m.lastgroup:
                kind = "string" if m.group("heredoc") or m.group("string") else m.lastgroup
                self.tokens.append((kind, m.group(0), text.count("\n", 0, position) + 1))
            position = m.end()
        self.strings, self.blocks = {}, []

    def fail(self, what):
        line = self.tokens[min(self.at, len(self.tokens) - 1)][2]
        sys.exit(f"{self.path}:{line}: {what}")

    def take(self, wanted=None):
        if self.at == len(self.tokens):
            self.fail("ends too early")
        kind, text, _ = self.tokens[self.at]
        if wanted and text != wanted:
            self.fail(f"{text!r} where {wanted!r} should be")
        self.at += 1
        return kind, text

    def value(self):
        kind, text = self.take()
        if text != "[":
            if kind == "sign":
                self.fail(f"{text!r} is no value")
            return [text]
        got = []
        while self.tokens[self.at][1] != "]":
            got += self.value()
            if self.tokens[self.at][1] == ",":
                self.at += 1
            elif self.tokens[self.at][1] != "]":
                self.fail("a comma is missing")
        self.take("]")
        return got

    def body(self, block, path):
        seen = set()
        while self.at < len(self.tokens) and self.tokens[self.at][1] != "}":
            kind, name = self.take()
            if kind != "word" or name not in self.KNOWN[block]:
                self.fail(f"{name!r} has no place in {block or 'a job file'}")
            if self.tokens[self.at][1] == "=":
                self.at += 1
                if name in seen:
                    self.fail(f"{name} twice")
                seen.add(name)
                self.strings["/".join(path + [name])] = self.value()
                continue
            labels = []
            while self.tokens[self.at][0] == "string":
                labels.append(self.take()[1].strip('"'))
            if len(labels) != (name in ("variable", "job", "group", "task", "port")):
                self.fail(f"{name} has {len(labels)} names")
            self.take("{")
            self.blocks.append((name, labels))
            self.body(name, path + [name] + labels)
            self.take("}")

    def read(self):
        self.body("", [])
        if self.at < len(self.tokens):
            self.fail("a brace too many")

    def arguments(self, values):
        self.read()
        for place, got in self.strings.items():
            if place.startswith("variable/") and place.endswith("/default"):
                values.setdefault("var." + place.split("/")[1], got[0].strip('"'))
        for place, got in self.strings.items():
            if place.endswith("/args"):
                for v in got:
                    print(re.sub(r"\$\{([\w.]+)\}", lambda m: values[m.group(1)], v.strip('"')))

    def check(self, helps):
        self.read()
        declared = {labels[0] for name, labels in self.blocks if name == "variable"}
        used = set(re.findall(r"\bvar\.(\w+)", self.text))
        if declared != used:
            sys.exit(f"{self.path}: variables {sorted(declared)} are declared, {sorted(used)} used")
        found = 0
        for place, values in self.strings.items():
            if not place.endswith("/args"):
                continue
            command = self.strings[place[:-4] + "command"][0].strip('"')
            program = command.rsplit("/", 1)[1]
            if not command.startswith("/") or program not in helps:
                sys.exit(f"{self.path}: no program of ours: {command}")
            for v in values:
                option = v.strip('"')
                if option.startswith("-"):
                    found += 1
                    if not re.search(rf"^  {re.escape(option)}\s", helps[program], re.M):
                        sys.exit(f"{self.path}: {program} has no {option}")
        if found == 0:
            sys.exit(f"{self.path}: no options")
        print(f"{found} options")


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "double":
        double(*rest)
    elif what == "sink":
        sink(rest[0], *map(int, rest[1:]))
    elif what == "influx":
        influx(*rest)
    elif what == "get":
        sys.stdout.write(fetch(rest[0]))
    elif what == "check-lines":
        check_lines(rest[0])
    elif what == "hcl-args":
        Hcl(rest[0]).arguments(dict(pair.split("=", 1) for pair in rest[1:]))
    elif what == "hcl":
        helps = {}
        for pair in rest[1:]:
            name, path = pair.split("=", 1)
            with open(path, encoding="utf-8") as f:
                helps[name] = f.read()
        Hcl(rest[0]).check(helps)


main()
