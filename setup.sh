#!/bin/sh
# Sets up a machine for rllb and, if told, goes on to a make target:
#
#     sh setup.sh                install what `make` needs: a C compiler, make, stb_image_write.h
#     sh setup.sh all            besides, what the programs of examples/http and /udp are linked with, then `make`
#     sh setup.sh demo [VAR=x]   the same, then `make demo`; any other target likewise
#     sh setup.sh test           besides, what the tests like to have, then `make test`; tests that miss a tool are
#                                skipped and say so
#
# Installs through the system's package manager (apt, dnf, zypper, pacman, apk, brew), with sudo where it must, says
# what, and does nothing when all is there. STB_DIR=folder names another place of stb_image_write.h; CC=compiler another
# compiler. Exit status: 0 ok, 1 something could not be installed, 2 wrong usage; otherwise that of make.

cd "$(dirname "$0")" || exit 1
target=${1:-deps}
if [ $# -gt 0 ]; then shift; fi

exec 3>&1 # where say speaks, whatever a function's output goes to
say() { echo "setup: $*" >&3; }
die() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

case $target in
-h | --help | help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
deps | install) target=deps ;;
all | demo | experiments | http-experiment | udp-lab | test | bench | fuzz | analyze | golden) ;;
*)
    echo "setup: $target: no such target; deps, all, demo, experiments, http-experiment, udp-lab, test, bench, fuzz," \
        "analyze, golden" >&2
    exit 2
    ;;
esac
for argument in "$@"; do
    case $argument in
    STB_DIR=*) STB_DIR=${argument#STB_DIR=} ;;
    CC=*) CC=${argument#CC=} ;;
    [A-Z]*=*) ;;
    *) echo "setup: $argument: not of the form NAME=value" >&2; exit 2 ;;
    esac
done
if [ -n "$STB_DIR" ] && [ ! -f "$STB_DIR/stb_image_write.h" ]; then
    echo "setup: STB_DIR=$STB_DIR: there is no stb_image_write.h" >&2
    exit 2
fi
STB_DIR=${STB_DIR:-/usr/include/stb}
CC=${CC:-cc}
export STB_DIR CC

# ---- what is there -----------------------------------------------------------------------------------------------

scratch=$(mktemp -d 2>/dev/null) || die "mktemp: no temporary folder can be made"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# Compiles and links a line of C; the compiler may be there without headers, or without the sanitizer asked for.
compiles() # compiler and flags; $1 the source suffix
{
    suffix=$1
    shift
    printf '#include <math.h>\n#include <stdio.h>\nint main(void) { return printf("%%f", floor(1.5)) < 0; }\n' \
        >"$scratch/try.$suffix"
    have "$1" && "$@" "$scratch/try.$suffix" -o "$scratch/try" -lm >/dev/null 2>&1
}

compiles_fuzzer()
{
    printf '#include <stddef.h>\nint LLVMFuzzerTestOneInput(const char *p, size_t n) { return p && n > n; }\n' \
        >"$scratch/fuzz.c"
    have clang && clang -fsanitize=fuzzer,address "$scratch/fuzz.c" -o "$scratch/fuzz" >/dev/null 2>&1
}

links_http()
{
    printf '#include <uv.h>\n#include <http_parser.h>\nint main(void) { return !http_parser_version(); }\n' \
        >"$scratch/http.c"
    have "$CC" && "$CC" "$scratch/http.c" -o "$scratch/http" -luv -lhttp_parser >/dev/null 2>&1
}

links_udp()
{
    printf '#include <cjson/cJSON.h>\n#include <curl/curl.h>\nint main(void) { return %s; }\n' \
        'curl_version() == cJSON_Version()' >"$scratch/udp.c"
    have "$CC" && "$CC" "$scratch/udp.c" -o "$scratch/udp" -lcurl -lcjson >/dev/null 2>&1
}

# Daemons may lie where an ordinary user's PATH does not go.
have_daemon() { have "$1" || [ -x "/usr/sbin/$1" ]; }

there()
{
    case $1 in
    cc) compiles c "$CC" ;;
    make) have make ;;
    stb) [ -f "$STB_DIR/stb_image_write.h" ] ;;
    http) links_http ;;
    udp) links_udp ;;
    sanitizers) compiles c "$CC" -fsanitize=address,undefined ;;
    c++) compiles cc g++ ;;
    clang) compiles_fuzzer && compiles cc clang++ ;;
    python) have python3 ;;
    haproxy) have_daemon haproxy ;;
    nginx) [ -r /usr/share/nginx/src/conf_flags ] && [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ;;
    influxdb) have_daemon influxd ;;
    victoria) have victoria-metrics ;;
    collectd) have_daemon collectd ;;
    exporter) have prometheus-node-exporter || have node_exporter ;;
    ip) have_daemon ip ;;
    aarch64) compiles c aarch64-linux-gnu-gcc -static && have qemu-aarch64 ;;
    cppcheck) have cppcheck ;;
    clang-tools) have clang-tidy && have scan-build ;;
    torch) have python3 && python3 -c 'import torch' >/dev/null 2>&1 ;;
    *) false ;;
    esac
}

# Package names by manager. An empty answer: this system has none.
package()
{
    case $manager:$1 in
    apt:cc) echo gcc libc6-dev ;;
    dnf:cc | zypper:cc) echo gcc glibc-devel ;;
    pacman:cc) echo gcc ;;
    apk:cc) echo gcc musl-dev ;;
    *:make) echo make ;;
    apt:stb) echo libstb-dev ;;
    dnf:stb | zypper:stb) echo stb-devel ;;
    pacman:stb) echo stb ;;
    apt:http) echo libuv1-dev libhttp-parser-dev ;;
    dnf:http | zypper:http) echo libuv-devel http-parser-devel ;;
    pacman:http) echo libuv http-parser ;;
    apk:http) echo libuv-dev http-parser-dev ;;
    apt:udp) echo libcurl4-openssl-dev libcjson-dev ;;
    dnf:udp) echo libcurl-devel cjson-devel ;;
    zypper:udp) echo libcurl-devel cJSON-devel ;;
    pacman:udp) echo curl cjson ;;
    apk:udp) echo curl-dev cjson-dev ;;
    brew:udp) echo curl cjson ;;
    dnf:sanitizers) echo libasan libubsan libtsan ;;
    apt:c++ | apk:c++) echo g++ ;;
    dnf:c++ | zypper:c++) echo gcc-c++ ;;
    apt:clang) echo clang libclang-rt-dev ;;
    dnf:clang | pacman:clang | apk:clang) echo clang compiler-rt ;;
    zypper:clang) echo clang ;;
    apt:python | dnf:python | zypper:python | apk:python) echo python3 ;;
    pacman:python | brew:python) echo python ;;
    apt:aarch64) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
    pacman:aarch64) echo aarch64-linux-gnu-gcc qemu-user ;;
    *:haproxy) echo haproxy ;;
    apt:nginx) echo nginx nginx-dev libnginx-mod-stream ;;
    apt:influxdb | pacman:influxdb | apk:influxdb) echo influxdb ;;
    apt:victoria) echo victoria-metrics ;;
    pacman:victoria | brew:victoria) echo victoriametrics ;;
    apt:collectd) echo collectd-core ;;
    *:collectd) echo collectd ;;
    apt:exporter | pacman:exporter | apk:exporter) echo prometheus-node-exporter ;;
    brew:exporter) echo node_exporter ;;
    dnf:ip) echo iproute ;;
    apt:ip | zypper:ip | pacman:ip | apk:ip) echo iproute2 ;;
    *:cppcheck) echo cppcheck ;;
    apt:clang-tools) echo clang-tidy clang-tools ;;
    dnf:clang-tools) echo clang-tools-extra clang-analyzer ;;
    pacman:clang-tools) echo clang ;;
    apk:clang-tools) echo clang-extra-tools ;;
    apt:torch) echo python3-torch ;;
    esac
}

needed="cc make stb" wanted=
case $target in
all) wanted="http udp" ;;
http-experiment) needed="$needed http" ;;
udp-lab) needed="$needed udp influxdb ip" ;;
test) wanted="http udp sanitizers c++ clang python aarch64 haproxy nginx influxdb victoria collectd exporter ip" ;;
fuzz) needed="$needed c++ clang" ;;
analyze) wanted="clang clang-tools cppcheck" ;;
golden) needed="$needed python torch" ;;
esac

# Sets missing_needed and missing_wanted.
look()
{
    missing_needed='' missing_wanted=''
    for tool in $needed; do there "$tool" || missing_needed="$missing_needed $tool"; done
    for tool in $wanted; do there "$tool" || missing_wanted="$missing_wanted $tool"; done
}

# ---- getting what is not -----------------------------------------------------------------------------------------

manager=
for candidate in apt-get dnf zypper pacman apk brew; do
    if have $candidate; then manager=${candidate%-get}; break; fi
done

as_root()
{
    if [ "$manager" = brew ] || [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" </dev/null; }

apt_knows_all()
{
    for p in "$@"; do
        apt-cache policy "$p" 2>/dev/null | grep -q 'Candidate: [0-9]' || return 1
    done
}

updated=
update_lists()
{
    if [ -n "$updated" ]; then return 1; fi
    updated=yes
    say "apt-get update"
    apt_get update >"$scratch/log" 2>&1 || { tail -n 5 "$scratch/log" >&2; say "apt-get update failed"; }
}

install_packages() # packages
{
    case $manager in
    apt)
        apt_knows_all "$@" || update_lists
        apt_get --no-install-recommends install "$@" ||
            { update_lists && apt_get --no-install-recommends install "$@"; } ;; # the lists may have been old
    dnf) as_root dnf install -y "$@" </dev/null ;;
    zypper) as_root zypper --non-interactive install "$@" </dev/null ;;
    pacman) as_root pacman -S --noconfirm --needed "$@" </dev/null ;;
    apk) as_root apk add "$@" </dev/null ;;
    brew) brew install "$@" </dev/null ;;
    esac >"$scratch/log" 2>&1
}

packages_of() { for tool in "$@"; do package "$tool"; done | tr '\n' ' ' | sed 's/ $//'; }

look
# shellcheck disable=SC2086
if [ -n "$missing_needed$missing_wanted" ] && [ -n "$manager" ]; then
    list=$(packages_of $missing_needed $missing_wanted)
    if [ -n "$list" ] && [ "$manager" != brew ] && [ "$(id -u)" -ne 0 ] && ! have sudo; then
        if [ -n "$missing_needed" ]; then
            die "not root and no sudo here; have somebody with the right install: $(packages_of $missing_needed)"
        fi
        say "not root and no sudo here; going on without:$missing_wanted"
        list=
    fi
    if [ -n "$list" ]; then
        if [ "$(id -u)" -eq 0 ] || [ "$manager" = brew ]; then with=$manager; else with="$manager, through sudo"; fi
        say "installing with $with: $list"
        if ! install_packages $list; then
            # One unknown name must not keep the others away: what is needed first, then each of the rest alone.
            list=$(packages_of $missing_needed)
            if [ -n "$list" ] && ! install_packages $list; then
                tail -n 15 "$scratch/log" >&2
            fi
            for tool in $missing_wanted; do
                for p in $(package "$tool"); do
                    install_packages "$p" || say "$p cannot be had from $manager here"
                done
            done
        fi
        hash -r
        look
    fi
fi

for tool in $missing_needed; do
    case $tool in
    cc)
        say "there is no C compiler that compiles and links (tried $CC); install one, or name it with CC="
        if [ "$manager" = brew ]; then say "on macOS: xcode-select --install"; fi ;;
    stb)
        say "stb_image_write.h is not in $STB_DIR; it is one file of the stb collection: put it into a folder and" \
            "run this again with STB_DIR=folder" ;;
    http) say "libuv and http-parser (with their headers) are missing and could not be installed" ;;
    udp) say "libcurl and cJSON (with their headers) are missing and could not be installed" ;;
    *) say "$tool is missing and could not be installed; please install it by hand" ;;
    esac
done 3>&2
if [ -n "$missing_needed" ]; then exit 1; fi
if [ -n "$missing_wanted" ]; then say "not to be had here, what needs it is left out:$missing_wanted"; fi

if [ "$target" = deps ]; then
    say "all there"
    exit 0
fi
rm -rf "$scratch"
trap - EXIT HUP INT TERM
exec make "$target" CC="$CC" STB_DIR="$STB_DIR" "$@"
