#!/bin/sh
# What docs/embedding.md, nginx.md and haproxy.md tell to do is done as it is printed, in a scratch folder: see
# embedding.py.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

PATH=$PATH:/usr/sbin
if ! have python3; then
    skip embedding "python3 is not installed"
    finish
fi
python3 -B -S -E tests/cli/embedding.py "$work"
exit
