#!/bin/sh
# The program paper_tables: a small part of it is the same bytes in one go, in how many processes, killed or stopped and
# taken up again; what is there is not done again; its ratios are those of its own cells; one line for what is wrong.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

tables=build/paper_tables

check "--help" $tables --help
for word in --only --seeds --episodes --runs --quick --seed --jobs --out table3,table4 figure12; do
    says "--help" "$(echo "$word" | cut -d, -f1)"
done

# What tells the time, or is measured.
forget() { rm -f "$1/seconds.csv" "$1/cells/picks.txt" "$1/cells/steps.txt"; }

models_in() { find "$1/models" -name '*.safetensors' 2>/dev/null | wc -l; }

# ---- a small part --------------------------------------------------------------------------------------------------

small='--quick --only table3 --episodes 3 --runs 3'
# shellcheck disable=SC2086
{
    check "table 3" $tables $small --out "$work/small"
    for words in 'Table 3' '529.4' '63.4' 'SHORT FORM' 'Which claims of the papers hold' 'does not hold' 'RLB-S-SAC'; do
        says "table 3" "$words"
    done
    there "table 3" "$work/small/report.md" "$work/small/results.json" "$work/small/seconds.csv"
    nothing_left "table 3" "$work/small"
    schema paper_tables "$work/small/results.json"
    if [ "$(models_in "$work/small")" -eq 3 ]; then pass; else fail "table 3" "not three models"; fi
    if [ -e "$work/small/figure9.png" ]; then fail "--only" "draws what was not asked for"; else pass; fi

    # Again: nothing is done, nothing changes.
    forget "$work/small"
    cp -r "$work/small" "$work/kept"
    check "again" $tables $small --quiet --out "$work/small"
    if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
    if [ -e "$work/small/seconds.csv" ]; then fail "again" "something was done again"; else pass; fi
    same "again" "$work/small" "$work/kept"
    check "another number of processes" $tables $small --quiet --jobs 3 --out "$work/three"
    forget "$work/three"
    same "processes" "$work/small" "$work/three"
    check "another seed" $tables $small --quiet --seed 5 --out "$work/other"
    if cmp -s "$work/other/results.json" "$work/small/results.json"; then fail "--seed" "changes nothing"; else pass; fi
}

# Ratios by other means than the program's, from the runs of the cells.
cat >"$work/ratios.py" <<'END'
import csv, glob, json, re, sys
folder = sys.argv[1]
r = json.load(open(folder + "/results.json"))

def runs(name):
    (path,) = glob.glob(f"{folder}/cells/moderate-518.8-{name}-*.csv")
    return list(csv.DictReader(open(path)))

def ratio(a, b, what):
    pairs = list(zip(runs(a), runs(b)))
    return sum(float(x[what]) / float(y[what]) for x, y in pairs) / len(pairs)

found = 0
pairs = {"RLB-QMIX is faster than SED": ("moderate-qmix", "sed"), "wiki: SED is faster than LSQ": ("sed", "lsq"),
         "LSQ is faster than WCMP": ("lsq", "wcmp"), "WCMP is faster than ECMP": ("wcmp", "ecmp")}
for c in r["claims"]:
    assert c["holds"] + c["fails"] + c["open"] == 1, c
    for words, (a, b) in pairs.items():
        if not re.search(r"\b" + words + r"\b", c["claim"]):
            continue
        said, low, high = map(float, re.search(r"518.8/s ([\d.]+) \[([\d.]+), ([\d.]+)\]", c["evidence"]).groups())
        at = ratio(a, b, "static_mean" if c["claim"].startswith("static") else "wiki_mean")
        assert abs(at - said) < 0.006 and low <= said <= high, (c, at)
        assert c["verdict"] == ("holds" if high < 0.995 else "does not hold" if low > 1.005 else c["verdict"]), c
        found += 1
assert found >= 5, found

# A wiki page waits as a static one does, and takes 45.6 ms for 2; both classes together are all of it.
for g in r["results"]:
    assert g["rate"] == 518.8 and g["world"] == "moderate", g
    assert 2 <= g["static_mean"] * 1000 < g["wiki_mean"] * 1000 and g["wiki_mean"] > 0.04, g
    assert abs((g["static_mean"] + g["wiki_mean"]) / 2 / g["mean"] - 1) < 0.02, g
    assert g["balancers"] == (1 if g["policy"] == "moderate-ssac" else 2), g
    assert g["learned"] == (g["policy"].startswith("moderate-")), g
sed = next(g for g in r["results"] if g["policy"] == "sed")
assert sed["busy_ratio"] > 2, sed
END
if have python3; then check "ratios" python3 "$work/ratios.py" "$work/small"
else skip "ratios" "python3 is not installed"
fi

# ---- stopped, and taken up again -----------------------------------------------------------------------------------

long='--quick --quiet --only tablea --episodes 5 --runs 1'
# shellcheck disable=SC2086
{
    check "a longer run" $tables $long --out "$work/long"
    forget "$work/long"

    $tables $long --jobs 1 --out "$work/killed" >/dev/null 2>&1 &
    pid=$!
    tries=0
    while [ "$(models_in "$work/killed")" -lt 1 ] && [ $tries -lt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    one_line 1 'another program is writing' $tables $long --out "$work/killed"
    kill -9 $pid
    wait $pid 2>/dev/null
    if [ ! -e "$work/killed/results.json" ]; then pass; else fail "kill -9" "it was done already"; fi
    check "after kill -9" $tables $long --out "$work/killed"
    forget "$work/killed"
    same "killed or not" "$work/long" "$work/killed"

    # One model, which takes a second: stopped in the middle of it.
    one='--quick --quiet --only figure11 --episodes 8'
    check "one model" $tables $one --out "$work/one"
    $tables $one --out "$work/stopped" >"$work/log" 2>&1 &
    pid=$!
    tries=0
    while [ ! -d "$work/stopped/cells" ] && [ $tries -lt 600 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    sleep 0.2
    kill -INT $pid
    wait $pid
    status=$?
    output=$(cat "$work/log")
    if [ $status -eq 130 ]; then pass; else fail "Ctrl-C" "exit status $status"; fi
    says "Ctrl-C" 'stopped with 0 of 1 models trained; go on with the same command'
    nothing_left "Ctrl-C" "$work/stopped"
    if [ "$(find "$work/stopped/models" -name '*.state' | wc -l)" -eq 1 ]; then pass
    else fail "Ctrl-C" "no model to go on from"; fi
    check "after Ctrl-C" $tables $one --out "$work/stopped"
    same "stopped or not" "$work/one/models" "$work/stopped/models"
    there "after Ctrl-C" "$work/stopped/figure11.png"
    if [ "$(cat "$work"/one/models/*.judged.csv | wc -l)" -eq 3 ]; then pass # a heading, episodes 4 and 8
    else fail "judged" "$(cat "$work"/one/models/*.judged.csv)"; fi
}

# ---- other parts: pictures, two models -----------------------------------------------------------------------------

check "figures" $tables --quick --only table3,figure8,figure11 --episodes 3 --runs 3 --out "$work/small"
there "figures" "$work/small/figure8.png" "$work/small/figure11.png" "$work/small/cells/picks.txt"
says "figures" 'RLB-QMIX, us'
if [ "$(models_in "$work/small")" -eq 3 ]; then pass; else fail "figures" "models were trained twice"; fi
check "table A, two models" $tables --quick --only tablea --seeds 2 --episodes 1 --runs 2 --quiet --out "$work/a"
if [ "$(models_in "$work/a")" -eq 10 ]; then pass; else fail "table A" "$(models_in "$work/a") models, not ten"; fi
schema paper_tables "$work/a/results.json"

# ---- what is wrong -------------------------------------------------------------------------------------------------

one_line 2 '--only' $tables --only table8 --out "$work/no"
one_line 2 '--seeds' $tables --seeds -1 --out "$work/no"
one_line 2 '--episodes' $tables --episodes many --out "$work/no"
one_line 2 '--runs' $tables --runs 1001 --out "$work/no"
one_line 2 'extra' $tables extra --out "$work/no"
if [ -e "$work/no" ]; then fail "wrong usage" "makes a folder"; else pass; fi
: >"$work/file"
one_line 1 "$work/file" $tables --quick --only table3 --out "$work/file"
# shellcheck disable=SC2086
{
    cell=$(find "$work/kept/cells" -name 'moderate-518.8-sed-*')
    head -c 4000 "$cell" >"$work/half"
    cp "$work/half" "$cell"
    one_line 1 "$cell: not the runs of a cell" $tables $small --quiet --out "$work/kept"
    rm "$cell"
    check "a cell made again" $tables $small --quiet --out "$work/kept"
    forget "$work/kept"
    forget "$work/small"
    if cmp -s "$work/kept/report.md" "$work/three/report.md"; then pass; else fail "a cell" "is another now"; fi
    model=$(find "$work/kept/models" -name 'moderate-qmix-*.safetensors')
    : >"$model"
    one_line 1 "$model" $tables $small --quiet --out "$work/kept"
    curve=$(find "$work/three/models" -name 'moderate-qmix-*.csv' ! -name '*.judged.csv')
    echo 'episode,rate' >"$curve"
    one_line 1 "$curve: not the curve of a model" $tables $small --quiet --out "$work/three"
}
finish
