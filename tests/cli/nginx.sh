#!/bin/sh
# The nginx module in a real nginx, see nginx.py: policies, nginx's own rules, several workers, reload, dead workers and
# dead backends, what was learned over a stop and an upgrade, wrong directives, the status page.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

PATH=$PATH:/usr/sbin
for needed in python3 nginx; do
    if ! have "$needed"; then
        skip nginx "$needed is not installed"
        finish
    fi
done
if [ ! -e build/nginx/ngx_http_rllb_module.so ]; then
    skip nginx "the module is not built: make nginx-module, which needs nginx-dev"
    finish
fi
if [ ! -x build/http/backend ] || [ ! -x build/http/load ]; then
    skip nginx "build/http/backend is not built: libuv and http-parser are not installed"
    finish
fi
python3 -B -S -E tests/cli/nginx.py "$work"
exit
