#!/bin/sh
# The program balancer_pictures: the reservoirs of a flow-level world keep what the formula says, pictures are drawn of
# any results that are some, and what is none is refused.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

pictures=build/balancer_pictures

check "--help" $pictures --help
for word in --results --seed --out '[out/balancer_pictures]'; do
    case $output in *"$word"*) pass ;; *) fail "--help" "does not mention $word" ;; esac
done

# ---- what a reservoir remembers ------------------------------------------------------------------------------------

check "ages" $pictures --out "$work/a"
for f in reservoir_ages.png reservoir_ages.csv; do there "ages" "$work/a/$f"; done
if [ -e "$work/a/pick_cost.png" ]; then fail "ages" "draws costs that nobody measured"; else pass; fi
nothing_left "ages" "$work/a"
# Bars are counts of rare events (means of 100 in the second half): within 1.96 standard deviations 19 times of 20, so
# that 12 of 100 outside has a chance of 0.4 %. Their sums by the same, within 3.
if awk -F, 'NR == 1 { next }
            { n = $2 < 1 ? 1 : 100; bars++; d = ($6 - $7) / sqrt($7 / n); if (d > 1.96 || d < -1.96) out++
              kept[n] += $6; expected[n] += $7 }
            END { for (n in kept) { d = (kept[n] - expected[n]) / sqrt(expected[n] / n); if (d > 3 || d < -3) exit 1 }
                  exit !(bars == 100 && out <= 11) }' "$work/a/reservoir_ages.csv"; then pass
else fail "ages" "not as the formula has it: $output"; fi
check "ages again" $pictures --quiet --out "$work/b"
if [ -z "$output" ]; then pass; else fail "--quiet" "$output"; fi
if cmp -s "$work/a/reservoir_ages.csv" "$work/b/reservoir_ages.csv"; then pass; else fail "same seed" "other ages"; fi

# ---- what a pick costs ---------------------------------------------------------------------------------------------

row() { printf '{"job":"%s","value":%s,"unit":"ns","limit":null,"share_of_limit":null}\n' "$1" "$2"; }
{
    row pick_sed_3 15; row pick_sed_24 20; row pick_sed_24_w2 22; row pick_sed_4096 900
    row pick_maglev_bounded_3 10; row pick_maglev_bounded_4096 11; row tick_24 30; echo 'no json'; row pick_gsq_24 50
    row pick_sed_3 16; row pick_ 1; row pick_7 1; row pick_sed_ 1; row pick_sed_0 1; row pick_draw_3 null
} >"$work/results.jsonl"
check "costs" $pictures --results "$work/results.jsonl" --out "$work/c"
there "costs" "$work/c/pick_cost.png"
if head -c 4 "$work/c/pick_cost.png" | grep -q PNG; then pass; else fail "costs" "no PNG"; fi
if [ -e "$work/c/sim_growth.png" ]; then fail "costs" "draws flows that nobody simulated"; else pass; fi

# ---- how the cost of a flow grows ----------------------------------------------------------------------------------

{
    row sim_flows 5e6; row sim_flows_16_2 4e6; row sim_flows_64_8 3e6; row sim_flows_1024_128 1e6; echo 'no json'
    row sim_flows_16_2 3.9e6; row sim_flows_ 1; row sim_flows_16 1; row sim_flows_16_ 1; row sim_flows_0_1 1
    row sim_flows_8_1 null; row sim_flows_8_x 1
} >"$work/flows.jsonl"
check "growth" $pictures --results "$work/flows.jsonl" --out "$work/g"
if head -c 4 "$work/g/sim_growth.png" | grep -q PNG; then pass; else fail "growth" "no PNG"; fi
if [ -e "$work/g/pick_cost.png" ]; then fail "growth" "draws picks that nobody made"; else pass; fi
{ cat "$work/flows.jsonl" "$work/results.jsonl"; row sim_flows_64_2 3e6; row sim_flows_1024_2 2e6; } >"$work/both.jsonl"
check "both" $pictures --quiet --results "$work/both.jsonl" --out "$work/h"
there "both" "$work/h/pick_cost.png" "$work/h/sim_growth.png"
if cmp -s "$work/g/sim_growth.png" "$work/h/sim_growth.png"; then
    fail "growth" "two more rows change nothing"
else
    pass
fi

refused() # words, results
{
    check_status 1 "$1" $pictures --results "$2" --out "$work/no"
    if [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]; then pass; else fail "$1" "$output"; fi
    case $output in *"$2"*) pass ;; *) fail "$1" "does not name the file: $output" ;; esac
    if [ -e "$work/no/pick_cost.png" ] || [ -e "$work/no/reservoir_ages.png" ]; then fail "$1" "draws all the same"
    else pass; fi
}
refused "no such file" "$work/none"
: >"$work/empty"
refused "an empty file" "$work/empty"
row tick_24 30 >"$work/ticks"
refused "no picks" "$work/ticks"
row pick_sed_24 30 >"$work/one"
refused "one number of servers" "$work/one"
row sim_flows_64_8 3e6 >"$work/one_flow"
refused "one number of servers" "$work/one_flow"
check_status 2 "a wrong option" $pictures --no
finish
