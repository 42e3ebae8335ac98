#!/bin/sh
# Runs every experiment of the three-server cluster and writes OUT/index.md, which shows every table and picture.
#
#     sh examples/experiments.sh [short|full]       (make experiments, make experiments FULL=1)
#
# Short shows that all of it works, in less than three minutes on two cores, and proves nothing. Full takes the
# settings that were published. What was finished is kept: a second call in the same form does what is missing.
# REFERENCE=file.csv compares loads recorded elsewhere, SIMULATED=file.csv with loads simulated elsewhere; without them
# the loads of one policy are held against those of another. OUT=folder, default out/experiments.

cd "$(dirname "$0")/.." || exit 1
form=${1:-short} out=${OUT:-out/experiments}
case $form in
short) quick=--quick training='--episodes 200 --check-every 100 --save-every 100' ;;
full) quick='' training='' ;;
*) echo "experiments: $form: short or full" >&2; exit 2 ;;
esac
mkdir -p "$out" || exit 1
index=$out/index.md.part
trap 'rm -f "$index"' EXIT
trap 'exit 1' HUP INT TERM
printf '# The experiments, %s form\n\nMade by `make experiments%s`.\n' "$form" \
    "$([ "$form" = full ] && echo ' FULL=1')" >"$index"

# experiment NAME "what it shows" command...: runs it unless it ran before, and adds its page to the index.
experiment()
{
    name=$1 words=$2
    shift 2
    if [ -s "$out/$name.$form.txt" ]; then
        echo "$name: kept from an earlier call"
    else
        echo "$name: $*"
        "$@" --out "$out/$name" >"$out/$name.txt.part" || { rm -f "$out/$name.txt.part"; exit 1; }
        rm -f "$out/$name".*.txt
        mv "$out/$name.txt.part" "$out/$name.$form.txt"
    fi
    {
        printf '\n## %s\n\n%s\n\n    %s\n\n```\n' "$name" "$words" "$* --out $out/$name"
        cat "$out/$name.$form.txt"
        printf '```\n\n'
        for picture in "$out/$name"/*.png; do
            file=$(basename "$picture")
            if [ -f "$picture" ]; then printf '![%s](%s)\n' "${file%.png}" "$name/$file"; fi
        done
    } >>"$index"
}

# Runs of a grid are kept one by one: taken up again if the folder is there.
again() { if [ -d "$out/$1/runs" ] && [ ! -s "$out/$1.$form.txt" ]; then echo --resume; fi; }

# shellcheck disable=SC2046,SC2086
{
    experiment tune 'Learning rates and discounts, DQN and Dueling DQN, ranked.' \
        build/tune $quick $(again tune)
    experiment compare 'Standard, Dueling and Double DQN with the same seeds.' \
        build/compare $quick $(again compare)
    experiment ablation 'The full agent without one of its parts at a time.' \
        build/ablation $quick --as-original $(again ablation)
    experiment train 'A policy for the honest cluster under bursty traffic.' \
        build/train --env honest $training
    experiment stress_test 'The trained policy against the classical ones.' \
        build/stress_test --model "$out/train/model.safetensors"
    experiment visualize_low 'Low traffic, step by step: the trained policy beside least load.' \
        build/visualize --traffic low --model "$out/train/model.safetensors" --policy least_load
    experiment visualize_high 'High traffic, step by step: the trained policy beside least load.' \
        build/visualize --traffic high --model "$out/train/model.safetensors" --policy least_load
    if [ -n "$REFERENCE" ]; then
        experiment similarity 'Simulated loads against recorded ones, and what the figure is worth.' \
            build/similarity --reference "$REFERENCE" ${SIMULATED:+--simulated "$SIMULATED"}
    else
        experiment similarity 'Loads of the trained policy against loads of least load, and what the figure is worth.' \
            build/similarity --reference "$out/visualize_high/log_2.csv" --columns server_1,server_2,server_3 \
            --simulated "$out/visualize_high/log_1.csv" --simulated-columns server_1,server_2,server_3
    fi
}
mv "$index" "$out/index.md"
echo "all of it: $out/index.md"
