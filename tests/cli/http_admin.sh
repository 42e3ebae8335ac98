#!/bin/sh
# The operator's port of the proxy: page, status, metrics, switches, and who may not use them; checks that take servers
# out and put them in, the access log, what was learned over a restart. See http_admin.py.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

if ! have python3; then
    skip http_admin "python3 is not installed"
    finish
fi
if [ ! -x build/http/proxy ] || [ ! -x build/http/backend ]; then
    skip http_admin "build/http/proxy is not built: libuv and http-parser are not installed"
    finish
fi
python3 -S -E tests/cli/http_admin.py "$work"
exit
