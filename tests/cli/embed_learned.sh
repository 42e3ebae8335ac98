#!/bin/sh
# The program embed_learned: what is no model for it ends in one line; under the model that ships, told nothing, the
# weights found are near the speeds and requests fare better than under the rule that is told nothing either.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

check "--help" build/embed_learned --help
says "--help" '--model'
for wrong in --no --seed '--seed x' '--seed -1' --model word; do
    # shellcheck disable=SC2086
    one_line 2 'takes --model FILE' build/embed_learned $wrong
done
one_line 1 'cannot be read' build/embed_learned --model "$work/none"
one_line 1 'cannot be read' build/embed_learned --model tests
one_line 1 'is no model for many sites' build/embed_learned --model README.md

model=models/rllb-balancer.safetensors
if [ -e $model ]; then
    head -c 9000 $model >"$work/half"
    one_line 1 'is no model for many sites' build/embed_learned --model "$work/half"
    LC_ALL=C sed 's/"features":"relative"/"features":"cikm....."/' $model >"$work/other"
    one_line 1 'is no model for many sites' build/embed_learned --model "$work/other"
    for seed in 1 2 3; do
        check "--seed $seed" build/embed_learned --seed $seed
        printf '%s\n' "$output" >"$work/$seed"
        if awk '/^sed, told nothing/ { plain = $4 } /^the model/ { model = $5 }
                /^(slow|middle|fast)/ { n++; off = $(NF) / $(NF - 1); far += off < 0.6 || off > 1.7 }
                END { exit !(n == 4 && far == 0 && model > 0 && model < plain) }' "$work/$seed"; then pass
        else fail "--seed $seed" "$output"; fi
    done
    check "again" build/embed_learned --model $model
    if [ "$output" = "$(cat "$work/1")" ]; then pass; else fail "again" "the seed is not all there is"; fi
else
    skip "the model that ships" "$model is not there"
fi
finish
