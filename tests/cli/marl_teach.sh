#!/bin/sh
# The program marl_teach: it leaves a model that serves and that another program goes on with; the same settings are
# the same bytes however often and in how many processes they are computed; what it teaches is learnt; and every wrong
# input ends in one line and the right exit status.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

teach=build/marl_teach
# Small enough for a fraction of a second.
small='--quiet --worlds 6 --flows 300 --ticks 600 --updates 20 --hidden 4'

check "--help" $teach --help
for word in --from --hidden --gain --rounds --worlds --flows --ticks --updates --lr --seed --jobs --out --quiet; do
    says "--help" "$word"
done

# ---- wrong usage: 2 ----------------------------------------------------------------------------------------------

one_line 2 '--rounds' $teach --rounds 0
one_line 2 '--worlds' $teach --worlds x
one_line 2 '--gain' $teach --gain 2
one_line 2 '--lr' $teach --lr nan
one_line 2 '--hidden' $teach --hidden 257
one_line 2 '--flows' $teach --flows 1
one_line 2 'not an option' $teach out

# shellcheck disable=SC2086
{
    # ---- the same bytes --------------------------------------------------------------------------------------------

    again() # name; the rest is options
    {
        name=$1
        shift
        set -- $small --rounds 6 "$@"
        check "$name" $teach "$@" --jobs 1 --out "$work/one"
        there "$name" "$work/one/model.safetensors" "$work/one/curve.csv" "$work/one/curve.png"
        check "$name, two processes" $teach "$@" --jobs 2 --out "$work/two"
        same "$name: one process or two" "$work/one" "$work/two"
        check "$name, once more" $teach "$@" --jobs 2 --out "$work/two"
        same "$name: twice" "$work/one" "$work/two"
        nothing_left "$name" "$work/two"
        if [ "$(wc -l <"$work/one/curve.csv")" -eq 7 ]; then pass; else fail "$name" "not a line a round"; fi
        if cmp -s "$work/one/model.safetensors" "$work/last"; then fail "$name" "is the model before"; else pass; fi
        cp "$work/one/model.safetensors" "$work/last"
        rm -rf "$work/one" "$work/two"
    }
    again "lessons"
    again "another seed" --seed 2
    again "longer steps" --gain 0.3

    # ---- what is learnt --------------------------------------------------------------------------------------------

    # What is not seen is all of the distance where nothing was learnt; a fifth to two fifths less by then, with
    # seeds 1 to 5.
    check "more lessons" $teach $small --rounds 12 --updates 100 --out "$work/long"
    if awk -F, 'NR == 13 { ok = $4 < 0.85 * $3 } END { exit !ok }' "$work/long/curve.csv"; then pass
    else fail "what is learnt" "$(tail -n 1 "$work/long/curve.csv")"; fi

    model=$work/long/model.safetensors
    check "the model serves" build/simulate --preset moderate --policy "learned($model),sed" --seeds 1 --duration 5 \
        --quiet --no-pictures --out "$work/simulated"
    check "a search goes on with it" build/marl_search --quiet --pairs 2 --worlds 2 --flows 300 --ticks 600 --hidden 4 \
        --generations 1 --only common --from "$model" --out "$work/searched"
    check "it goes on with that" $teach $small --rounds 2 --from "$work/searched/model.safetensors" --out "$work/on"
    if cmp -s "$work/on/model.safetensors" "$work/searched/model.safetensors"; then fail "--from" "it does not move"
    else pass; fi
    check "the same from nothing" $teach $small --rounds 2 --out "$work/anew"
    if cmp -s "$work/on/curve.csv" "$work/anew/curve.csv"; then fail "--from" "it begins anew"; else pass; fi
    check "summary" $teach ${small#--quiet} --rounds 1 --out "$work/told"
    says "summary" 'beside SED that is told'

    # ---- models that are none of these -----------------------------------------------------------------------------

    one_line 2 'is of another shape' $teach $small --hidden 5 --from "$model" --out "$work/no"
    check "a model of another kind" build/marl_train --quiet --episodes 1 --judge 0 --hidden 4 --batch 1 \
        --learn-start 1 --updates 1 --horizon 2 --out "$work/other"
    one_line 2 'sees or decides other things' $teach $small --from "$work/other/model-1.safetensors" --out "$work/no"
    one_line 1 'none.safetensors' $teach $small --from "$work/none.safetensors" --out "$work/no"
    one_line 1 'is no balancing policy' $teach $small --from "$work/searched/checkpoint.safetensors" --out "$work/no"
    if [ ! -e "$work/no" ]; then pass; else fail "--from" "a folder although there was nothing to do"; fi

    # ---- Ctrl-C, and what is not as it should be -------------------------------------------------------------------

    $teach $small --rounds 100000 --out "$work/stopped" >"$work/log" 2>&1 &
    pid=$!
    sleep 1
    one_line 1 'another program is writing' $teach $small --out "$work/stopped"
    kill -INT $pid
    wait $pid
    status=$?
    output=$(cat "$work/log")
    if [ $status -eq 130 ]; then pass; else fail "Ctrl-C" "exit status $status"; fi
    says "Ctrl-C" 'of 100000 rounds; --from its model goes on'
    there "Ctrl-C" "$work/stopped/model.safetensors" "$work/stopped/curve.csv" "$work/stopped/curve.png"
    nothing_left "Ctrl-C" "$work/stopped"
    check "on after Ctrl-C" $teach $small --rounds 1 --from "$work/stopped/model.safetensors" --out "$work/stopped"

    echo text >"$work/file"
    one_line 1 "$work/file" $teach $small --out "$work/file/below"
    one_line 1 'cannot write' sh -c "ulimit -f 4; exec $teach $small --rounds 1 --out $work/full"
    nothing_left "a full disk" "$work/full"
}
finish
