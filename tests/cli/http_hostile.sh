#!/bin/sh
# Clients and servers that mean ill, against the running proxy: broken, huge, slow, pipelined and smuggling requests;
# answers that split or follow each other unasked. They get 4xx, 5xx of the proxy or a close; a well-behaved client is
# served all the while, memory stays bounded, nothing of a refused request reaches a server. See http_hostile.py.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

if ! have python3; then
    skip http_hostile "python3 is not installed"
    finish
fi
if [ ! -x build/http/proxy ] || [ ! -x build/http/backend ]; then
    skip http_hostile "build/http/proxy is not built: libuv and http-parser are not installed"
    finish
fi
python3 -S -E tests/cli/http_hostile.py "$work"
exit
