"""Texts that must stay true. Run by texts.sh from the root of the project; standard library only.

Top comments agree with the code below them (contents, version, complete program), the README's program compiles and
runs, its links lead somewhere, the licence is the same everywhere, every public function is explained, `make help`
knows every target, and no file has lines too long, tabs, or words that say "later"."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HEADERS = [h for h in ("rllb.h", "rllb_nn.h", "rllb_env.h") if os.path.exists(h)]
WARN = ("-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wcast-qual -Wundef "
        "-Wdouble-promotion -Werror").split()
passed = failed = skipped = 0


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED " + what)


def skip(what, why):
    global skipped
    skipped += 1
    print(f"{what}: skipped: {why}")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def files():
    """Every text file of the project: what git knows, or else what lies there."""
    try:
        out = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
        names = [n for n in out if n and os.path.isfile(n)]
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names:
        for folder, folders, inside in os.walk("."):
            folders[:] = [d for d in folders if d not in (".git", "build", "out")]
            names += [os.path.join(folder, n)[2:] for n in inside]
    for name in sorted(names):
        if os.path.splitext(name)[1] in (".c", ".h", ".py", ".sh", ".md", ".txt", "") and ".git" not in name:
            yield name


def top_comment(text):
    return text[:text.index("*/")]


def section(comment, title):
    """The lines of a top comment from a heading in capitals to the next heading."""
    lines, inside = [], False
    for line in comment.split("\n"):
        heading = re.match(r"   ([A-Z][A-Z, ]+[A-Z])(\s|$)", line)
        if heading:
            inside = heading.group(1).startswith(title)
        if inside:
            lines.append(line)
    return lines


def library(alone):
    """Options of a program, and what it is linked with: the headers as `make` has compiled them, unless they have
    changed since; then it has them all for itself, with one set of kernels."""
    built = "build/common/lib.a"
    fresh = not alone and os.path.exists(built) and all(os.path.getmtime(h) < os.path.getmtime(built) for h in HEADERS)
    if not fresh:
        return ["-DRLLB_NO_SIMD", "-DRLLB_NN_NO_SIMD"], []
    return ["-DRLLB_I_DONE", "-DRLLB_NN_I_DONE", "-DRLLB_ENV_I_DONE"], ["-x", "none", built]


def compile_and_run(source, what, alone):
    """By every compiler without a warning; run once as C and once as C++, since a program does the same by all. `alone`
    as the user's one command compiles it, with one set of kernels; otherwise linked with the library: compile/matrix.sh
    is about the headers' implementation."""
    languages_run = set()
    options, linked = library(alone)
    for name, standard, language in (("gcc", "c99", "c"), ("clang++", "c++11", "c++"), ("clang", "c99", "c"),
                                     ("g++", "c++11", "c++")):
        if not shutil.which(name):
            skip(f"{what}, {name}", "not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path, program = os.path.join(folder, "program.c"), os.path.join(folder, "program")
            with open(path, "w", encoding="utf-8") as f:
                f.write(source)
            command = [name, "-std=" + standard, "-x", language, "-O0", "-I.", *WARN, *options, path]
            parse_only = language in languages_run
            command += ["-fsyntax-only"] if parse_only else [*linked, "-o", program, "-lm"]
            built = subprocess.run(command, capture_output=True, text=True)
            check(built.returncode == 0, f"{what} compiles with {name}: {built.stderr[:800]}")
            if built.returncode or parse_only:
                continue
            languages_run.add(language)
            try:
                ran = subprocess.run([program], capture_output=True, text=True, cwd=folder, timeout=100)
                check(ran.returncode == 0, f"{what} by {name} runs: exit status {ran.returncode}")
                check(ran.stdout.strip() != "", f"{what} by {name} prints something")
            except subprocess.TimeoutExpired:
                check(False, f"{what} by {name} ends within 100 s")


def check_contents(header, text):
    listed = re.findall(r"^\s+>>(\w+)", "\n".join(section(top_comment(text), "CONTENTS")), re.M)
    rooms = re.findall(r"^/\* -{4} >>(\w+) -", text, re.M)
    check(listed and listed == rooms, f"{header}: contents {listed} and rooms {rooms} agree")


def check_version(header, text):
    first = re.match(r"/\* " + re.escape(header) + r" - v(\d+\.\d+\.\d+) - ", text)
    check(first is not None, f"{header}: line 1 has name and version")
    changelog = re.search(r"^## \[?(\d+\.\d+\.\d+)\]?", read("CHANGELOG.md"), re.M)
    check(changelog is not None, "CHANGELOG.md has a version")
    if first and changelog:
        check(first.group(1) == changelog.group(1), f"{header}: version of line 1 and of CHANGELOG.md")
    if header == "rllb.h" and first:
        macros = ".".join(re.search(rf"#define RLLB_VERSION_{part} (\d+)", text).group(1)
                          for part in ("MAJOR", "MINOR", "PATCH"))
        string = re.search(r'#define RLLB_VERSION_STRING "(.*)"', text).group(1)
        check(first.group(1) == macros == string, "rllb.h: line 1, version macros and string agree")


def check_program(header, text):
    lines = section(top_comment(text), "A COMPLETE PROGRAM")[1:]
    check(any("int main" in line for line in lines), f"{header}: the top comment has a complete program")
    if lines:
        check(len([line for line in lines if line.strip()]) <= 40, f"{header}: its program stays short")
        compile_and_run("\n".join(line[7:] for line in lines) + "\n", f"{header}: its program", alone=False)


def check_documented(header, text):
    """A public function is in the thread table, or has a comment beside it, or above its group or its type."""
    api = text[:text.index("stop here if you only use the API")]
    table = "\n".join(section(top_comment(text), "THREADS"))
    patterns, last = [], ""
    for word in re.findall(r"(?<!\w)_?\w[\w*]*", table):
        if word.startswith("rllb_"):
            last = word
            patterns.append(word)
        elif word.startswith("_"):  # short for the same object: rllb_policy_size, _name
            cuts = [m.start() for m in re.finditer("_", last)]
            patterns += [last[:cut] + word for cut in cuts if cut > 4]
    patterns = [p.replace("*", r"\w*") + "$" for p in patterns]
    lines = api.split("\n")
    found = 0
    for i, line in enumerate(lines):
        name = re.match(r"(?:RLLB_API|static inline)\s.*?\b(rllb_\w+)\(", line)
        if not name:
            continue
        found += 1
        if any(re.match(p, name.group(1)) for p in patterns):
            check(True, "")
            continue
        end = i
        while ";" not in lines[end] and "{" not in lines[end] and end + 1 < len(lines):
            end += 1
        beside = "/*" in "".join(lines[i:end + 1])
        above = i - 1
        while above > 0 and lines[above].strip() and not lines[above].rstrip().endswith("*/"):
            above -= 1
        if not lines[above].strip() and lines[above - 1].startswith("}"):  # right below a type that has a comment
            above -= 1
            while above > 0 and lines[above - 1].strip() and not lines[above].startswith("/*"):
                above -= 1
            beside = beside or lines[above].startswith("/*")
        elif not lines[above].strip() and lines[above - 1].startswith("typedef"):
            above -= 2
        check(beside or lines[above].rstrip().endswith("*/"), f"{header}: {name.group(1)} is explained nowhere")
    check(found > 0, f"{header} declares functions")


def check_licence(header, text):
    def words(s):
        return " ".join(s.split())
    end = text.rindex("/* ---")
    body = words(text[end:].split("\n", 1)[1].rsplit("*/", 1)[0])
    check(body.startswith("This software is available") and body == words(read("LICENSE")),
          f"{header}: the licence at the end is LICENSE")


def check_readme():
    text = read("README.md")
    programs = re.findall(r"^```c\n(.*?)^```", text, re.M | re.S)
    check(len(programs) >= 1, "README.md has a C program")
    for number, program in enumerate(programs):
        check(program.count("\n") <= 25, f"README.md: program {number + 1} has at most 25 lines")
        compile_and_run(program, f"README.md: program {number + 1}", alone=True)
    for command in ("sh setup.sh demo", "sh setup.sh test"):
        check(command in text, f"README.md names {command}")
    check(text.index("sh setup.sh demo") < 2000, "README.md opens with the commands")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", read(name)):
            if "://" not in link:
                check(os.path.exists(os.path.join(os.path.dirname(name), link)), f"{name}: {link} exists")
    for path in re.findall(r"`((?:examples|tests|bench|docs)/[\w./]*\w)`", text):
        check(os.path.exists(path), f"README.md: {path} exists")


def check_help():
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.M)).split()
    shown = subprocess.run(["make", "--no-print-directory", "help"], capture_output=True, text=True)
    check(shown.returncode == 0, "make help runs")
    for target in phony:
        if target not in ("FORCE", "test-programs", "http-missing", "udp-missing"):
            check(re.search(rf"make {re.escape(target)}\s+\w", shown.stdout), f"make help explains {target}")


def check_lines(name, text):
    limit = None if name.endswith(".md") or name == "LICENSE" else 120
    later = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK", "T" + "BD")) + r")\b")
    home = re.compile("/" + r"(home/\w|root/|Users/\w|work/\w)")
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}:{number}: "
        if limit and len(line) > limit:
            check(False, where + f"{len(line)} columns")
        if "\t" in line and not (name == "Makefile" and line.startswith("\t")):
            check(False, where + "a tab")
        if line != line.rstrip():
            check(False, where + "blanks at the end")
        if later.search(line):
            check(False, where + "a word that says later")
        if home.search(line):
            check(False, where + "a path of one machine")
    check(text.endswith("\n") and not text.endswith("\n\n"), name + ": ends with one newline")
    check("\r" not in text, name + ": Unix line ends")


for h in HEADERS:
    body = read(h)
    check_contents(h, body)
    check_version(h, body)
    check_program(h, body)
    check_documented(h, body)
    check_licence(h, body)
check_readme()
check_help()
for n in files():
    check_lines(n, read(n))
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(failed > 0)
