#!/bin/sh
# What a balancer can learn: the shipped model against told and untold classics, after faults, at other sites; and what
# becomes of balancers that learn each for its own. Writes OUT/index.md, which shows every table and picture.
#
#     sh examples/learning.sh [short|full]       (make learning, make learning FULL=1)
#
# Short shows that all of it works, in a few minutes, and proves nothing. Full takes an hour on two cores. What was
# finished is kept: a second call in the same form does what is missing. MODEL=file judges another model than the one
# that ships. OUT=folder, default out/learning.

cd "$(dirname "$0")/.." || exit 1
form=${1:-short} out=${OUT:-out/learning} model=${MODEL:-models/rllb-balancer.safetensors}
case $form in
short) seeds=2 s=20 long=30 generations=2 ;;
full) seeds=10 s=300 long=900 generations=40 ;;
*) echo "learning: $form: short or full" >&2; exit 2 ;;
esac
mkdir -p "$out" || exit 1
index=$out/index.md.part
trap 'rm -f "$index"' EXIT
trap 'exit 1' HUP INT TERM
printf '# Learning to balance, %s form\n\nMade by `make learning%s`.\n' "$form" \
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
        mv "$out/$name.txt.part" "$out/$name.$form.txt"
    fi
    {
        printf '\n## %s\n\n%s\n\n    %s\n\n```\n' "$name" "$words" "$* --out $out/$name"
        cat "$out/$name.$form.txt"
        printf '```\n\n'
        for picture in "$out/$name"/*.png; do
            if [ -f "$picture" ]; then printf '![%s](%s)\n' "$name" "$name/$(basename "$picture")"; fi
        done
    } >>"$index"
}

# judged NAME "what it shows" options...: the model among others, told nothing, on seeds that training has not seen.
judged()
{
    name=$1 words=$2
    shift 2
    experiment "$name" "$words" build/marl_eval --model "$model" --name rllb-balancer --told --seeds $seeds \
        --seed 11 "$@"
}

told_draws='draw(6,1,0.75),draw(6,1.2,0.25),draw(3,1.2,0),draw(3,1.1,0)'
judged seed4-a 'Published loads, one balancer.' --preset seed4-a --loads 0.6,0.7,0.8,0.9 --duration $s --warmup 0.3 \
    --policies sed,lsq
judged seed4-b 'Two balancers.' --preset seed4-b --duration $s --warmup 0.3 --policies sed,lsq
judged moderate 'Published rates.' --preset moderate --rates 518.8,690.9,731.5,758.8,796.3 --duration $s --warmup 0.3 \
    --policies sed,lsq,wcmp
judged large 'Published rates.' --preset large --rates 391.5,419.3,436.7 --duration $s --warmup 0.3 \
    --policies sed,lsq,wcmp
judged degraded 'Servers slowed without notice, every policy.' --preset degraded --balancers 1,2 --duration $s \
    --warmup 0.3 --policies all
judged fleet 'Unknown speeds, few balancers.' --preset fleet --balancers 1,6 --duration $s --warmup 0.3 \
    --policies "sed,lsq,p2c_weighted,equalise,$told_draws"
judged fleet-many 'Unknown speeds, many balancers.' --preset fleet --balancers 32,128 --duration $long --warmup 0.6 \
    --policies "sed,p2c_weighted,equalise,$told_draws"

printf 'time_s,event,server,value\n100,speed,4,0.3\n200,back,4,\n' >"$out/heal.csv"
printf 'time_s,event,server,value\n100,fail,4,1\n200,back,4,\n' >"$out/fail.csv"
judged heal 'A server is slow from 100 s to 200 s.' --preset moderate --loads 0.7 --policies sed,lsq \
    --duration 300 --events "$out/heal.csv" --series
judged fail 'A server fails whatever it gets from 100 s to 200 s.' --preset moderate --loads 0.7 --policies sed,lsq \
    --duration 300 --events "$out/fail.csv" --series

# Six balancers over the fleet go on learning from the model, each for its own flows or for those of all, by several
# aims.
more="--worlds-of fleet --balancers 6 --from $model --sigma 0.05 --lr 0.02 --pairs 8 --worlds 4 --flows 50000"
more="$more --ticks 60000 --spread 1"
found='' names=''
for aim in own all; do
    for judge in mean mean-log jain; do
        # shellcheck disable=SC2086
        experiment "$aim-$judge" "Search: flows of $aim, judged by $judge." build/marl_search $more --aim $aim \
            --judge $judge --generations "$((generations / 2))" --resume
        found=$found,$out/$aim-$judge/model.safetensors names=$names,$aim-$judge
    done
done
experiment selfish 'Selfish and cooperative balancers, as many as learnt together, fewer and more.' \
    build/marl_eval --model "${found#,}" --name "${names#,}" --preset fleet --balancers 1,6,32 --duration $s \
    --warmup 0.3 --seeds $seeds --told --policies 'equalise,draw(6,1.2,0.25)'

# One model at sites of all sizes, and the same model after a search at that site alone.
for n in 3 7 24 64; do
    for m in 1 2 6 32; do
        experiment "site-$n-$m" "Search at one site: $n servers of the fleet, $m balancers." build/marl_search \
            --worlds-of fleet --servers $n --balancers $m --spread 1 --from "$model" --sigma 0.03 --lr 0.005 --pairs 8 \
            --worlds 4 --flows 20000 --ticks 30000 --generations "$((generations / 4 + 1))" --resume
        experiment "sites-$n-$m" 'The one model beside the one of that site.' build/marl_eval \
            --model "$model,$out/site-$n-$m/model.safetensors" --name rllb-balancer,of-this-site --told \
            --preset fleet --servers $n --balancers $m --duration $s --warmup 0.3 --seeds $seeds --policies sed
    done
done
mv "$index" "$out/index.md"
echo "all of it: $out/index.md"
