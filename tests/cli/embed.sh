#!/bin/sh
# The programs embed and embed_threads: what they print adds up, the same seed prints the same, and a broken server is
# kept out.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh

for program in embed embed_threads; do
    check "$program --help" build/$program --help
    case $output in *--seed*) pass ;; *) fail "$program --help" "does not mention --seed" ;; esac
    for wrong in --no --seed '--seed x' '--seed -1' 'word'; do
        # shellcheck disable=SC2086
        check_status 2 "$program $wrong" build/$program $wrong
        if [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]; then pass; else fail "$program $wrong" "$output"; fi
    done
done

# ---- one thread ----------------------------------------------------------------------------------------------------

for seed in 1 2 3; do
    check "embed --seed $seed" build/embed --seed $seed
    printf '%s\n' "$output" >"$work/$seed"
    # Requests add up to 5,000. What the broken server is sent while it is broken: the five that eject it, then one
    # request at a time to see; without the guard it would be hundreds.
    if awk '$1 == "slow" || $1 == "middle" || $1 == "fast" { sum += $3; if ($1 == "fast") { failed = $6; out = $9 } }
            END { exit !(sum == 5000 && failed >= 5 && failed <= 15 && out >= 1) }' "$work/$seed"; then pass
    else fail "embed --seed $seed" "$output"; fi
    # Failures aside, which count as a second, the fast one is quicker, and so gets more.
    if awk '$1 == "slow" { slow = $8; few = $3 } $1 == "fast" { fast = $8 - 1000 * $6 / $3; many = $3 }
            END { exit !(fast > 0 && fast < slow / 2 && many > 2 * few) }' "$work/$seed"; then pass
    else fail "embed --seed $seed: who is fast" "$output"; fi
done
check "embed again" build/embed
if [ "$output" = "$(cat "$work/1")" ]; then pass; else fail "embed" "the seed is not all there is"; fi
if cmp -s "$work/1" "$work/2"; then fail "embed" "another seed changes nothing"; else pass; fi

# ---- four workers --------------------------------------------------------------------------------------------------

check "embed_threads" build/embed_threads --seconds 0.3
case $output in *"counters add up"*) pass ;; *) fail "embed_threads" "$output" ;; esac
# Every worker picked; faster servers got more; nothing is left in flight; time ran forwards.
printf '%s\n' "$output" >"$work/threads"
if awk '$2 ~ /^[1-5]$/ { servers++; if ($3 < last) exit 1; last = $3; left += $6
                         for (i = 8; i <= 11; i++) worker[i] += $i }
        END { for (i = 8; i <= 11; i++) if (!worker[i]) exit 1; exit !(servers == 5 && left == 0) }' \
    "$work/threads"; then pass; else fail "embed_threads: shares" "$output"; fi
case $output in *" 0 times ran backwards"*) pass ;; *) fail "embed_threads: time" "$output" ;; esac
finish
