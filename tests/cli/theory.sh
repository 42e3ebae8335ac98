#!/bin/sh
# The program theory: in short form its figures agree with theory, the same seed gives the same bytes, parts of it can
# be run alone, what is too short to tell is said to be, and what is wrong is refused.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

theory=build/theory

check "--help" $theory --help
for word in --only --runs --length --quick --seed --out '[out/theory]'; do says "--help" "$word"; done

check "quick" $theory --quick --out "$work/a"
table=$output
there "quick" "$work/a/results.json" "$work/a/theory.csv" "$work/a/theory.png"
nothing_left "quick" "$work/a"
schema theory "$work/a/results.json"
output=$table
for words in 'M/M/8, load 0.9' 'M/D/1' 'M/G/1-PS, Pareto' 'MMPP/M/1' 'two of infinitely many, load 0.99' \
    'speeds 1 and 1.618, load 0.8, sed' 'events after which flows are amiss' 'DIFFERS:0'; do
    case $words in
    DIFFERS:0) case $output in *DIFFERS* | *unclear*) fail "quick" "$output" ;; *) pass ;; esac ;;
    *) says "quick" "$words" ;;
    esac
done
if head -c 4 "$work/a/theory.png" | grep -q PNG; then pass; else fail "quick" "no PNG"; fi
# The file says what the table says: all that is judged agrees, exact ones within a tenth.
if awk -F, 'NR == 1 { next }
            { verdict = $NF; flows = $(NF - 1); ci = $(NF - 2); x = $(NF - 3); high = $(NF - 4); low = $(NF - 5) }
            flows < 1 || ci < 0 { exit 1 }
            verdict == "limit" { limits++; next }
            verdict != "agrees" { exit 1 }
            { rows++; if (x < low * 0.9 || x > high * 1.1) exit 1 }
            END { exit !(rows >= 45 && limits >= 20) }' "$work/a/theory.csv"; then pass
else fail "theory.csv" "$(cat "$work/a/theory.csv")"; fi

# A part alone has the same figures as among all others; the books balance at every event.
check "parts" $theory --quick --only loss,flows --out "$work/b"
if [ -e "$work/b/theory.png" ]; then fail "parts" "a picture of what was not simulated"; else pass; fi
grep -E '^(loss|flows),' "$work/a/theory.csv" >"$work/of_all"
sed 1d "$work/b/theory.csv" >"$work/of_parts"
if cmp -s "$work/of_parts" "$work/of_all"; then pass; else fail "parts" "other figures than among all"; fi
if grep -q '"*events after which flows are amiss"*,0,0,0,0,' "$work/b/theory.csv"; then pass
else fail "books" "$(cat "$work/b/theory.csv")"; fi

check "same seed" $theory --quick --quiet --only loss --out "$work/c"
if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
check "same seed" $theory --quick --quiet --only loss --out "$work/d"
same "same seed" "$work/c" "$work/d"
check "another seed" $theory --quick --quiet --only loss --seed 2 --out "$work/e"
if cmp -s "$work/c/theory.csv" "$work/e/theory.csv"; then fail "another seed" "same figures"; else pass; fi

# Too short for 1 %: said so, and not taken for success.
check_status 1 "too short" $theory --only loss --length 0.01 --out "$work/f"
says "too short" "unclear"

one_line 2 "--only" $theory --only queue
one_line 2 "--runs" $theory --runs 1
one_line 2 "--length" $theory --length nan
: >"$work/file"
one_line 1 "$work/file" $theory --quick --only loss --out "$work/file"
finish
