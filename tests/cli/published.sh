#!/bin/sh
# The program published: short runs of every table; flags that are what the figures say; one line for what is wrong.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

published=build/published

check "--help" $published --help
for word in --table --seeds --seed --quick --jobs --out '[out/published]'; do says "--help" "$word"; done

# ---- a short run of everything -------------------------------------------------------------------------------------

check "short form" $published --quick --out "$work/all"
for words in '(0.929)' '(320 to 360)' '(2673)' 'draw(d, a, gamma), told' 'in short form' 'inside the interval,'; do
    says "short form" "$words"
done
there "short form" "$work/all/published.md" "$work/all/results.json" "$work/all/published_tables.png" \
    "$work/all/partial_views.png"
nothing_left "short form" "$work/all"
schema published "$work/all/results.json"

# Flags by other means than the program's; what differs has a reason, and nothing else has; the herd is there.
cat >"$work/flags.py" <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
counts = {}
for c in r["results"]:
    counts[c["flag"]] = counts.get(c["flag"], 0) + 1
    at = f'{c["table"]} {c["policy"]} {c["column"]} {c["figure"]}: {c["flag"]}'
    assert (c["flag"] == "unpublished") == (c["published"] is None), at
    assert (c["flag"] == "differs") == (c["reason"] is not None), at
    assert c["low"] <= c["ours"] <= c["high"] and c["expect_low"] <= c["low"] and c["high"] <= c["expect_high"], at
    if c["published"] is None:
        continue
    low, high = c["published"], c["published_until"]
    near = 0.95 * low <= c["ours"] <= 1.05 * high
    inside = c["expect_low"] <= high + 0.0005 and low - 0.0005 <= c["expect_high"]  # published with so many digits
    want = "within_5" if near else "inside" if inside else "differs"
    assert c["flag"] == ("transient" if c["load"] >= 1 else want), at
assert all(counts.get(k, 0) == n for k, n in r["cells"].items()), "counts"
assert counts["within_5"] > 80, counts

def ours(table, policy, column):
    return next(c["ours"] for c in r["results"] if (c["table"], c["policy"], c["column"]) == (table, policy, column))

assert ours("views_told", "SED", "128") > 5 * ours("views_told", "SED over all queues", "128")
assert ours("draw", "best of 48 settings", "128") < 1.6 * ours("views_told", "SED over all queues", "128")
assert abs(ours("a", "SED", "90 %") / 0.929 - 1) < 0.05
END
if have python3; then check "flags" python3 "$work/flags.py" "$work/all/results.json"
else skip "flags" "python3 is not installed"
fi

# ---- one table; the same again, with other jobs --------------------------------------------------------------------

check "one table" $published --table a --quick --quiet --jobs 1 --out "$work/a"
if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
there "one table" "$work/a/published.md" "$work/a/results.json" "$work/a/published_tables.png"
if [ -e "$work/a/partial_views.png" ]; then fail "one table" "draws what it did not compute"; else pass; fi
check "again" $published --table a --quick --quiet --jobs 2 --out "$work/again"
same "the same seed" "$work/a" "$work/again"
check "another seed" $published --table a --quick --quiet --seed 9 --out "$work/other"
if cmp -s "$work/a/results.json" "$work/other/results.json"; then fail "another seed" "the same results"; else pass; fi
check "one seed" $published --table b --quick --seeds 1 --quiet --out "$work/b"
schema published "$work/b/results.json"

# ---- what is wrong -------------------------------------------------------------------------------------------------

one_line 2 "--table" $published --table c --out "$work/no"
one_line 2 "--seeds" $published --seeds -1 --out "$work/no"
one_line 2 "--seeds" $published --seeds many --out "$work/no"
one_line 2 "--jobs" $published --jobs 5000 --out "$work/no"
one_line 2 "extra" $published extra --out "$work/no"
if [ -e "$work/no" ]; then fail "wrong usage" "makes a folder"; else pass; fi
: >"$work/file"
one_line 1 "$work/file" $published --table a --quick --out "$work/file"
finish
