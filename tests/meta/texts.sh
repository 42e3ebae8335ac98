#!/bin/sh
# Texts that must stay true: top comments, README, CHANGELOG, LICENSE, make help. The checks are in texts.py.

cd "$(dirname "$0")/../.." || exit 1
if ! command -v python3 >/dev/null 2>&1; then
    echo "meta/texts: skipped: python3 is not installed"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
exec python3 tests/meta/texts.py
