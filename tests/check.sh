# check.sh - what the test scripts of meta/, compile/ and cli/ share. Source it from the project root:
#
#     . tests/check.sh
#     check "help is there" build/train --help          passes if the command's exit status is 0
#     check_status 2 "a wrong option" build/train --no  passes if it is 2
#     pass NAME; fail NAME WORDS; skip NAME WHY         when you found out yourself
#     finish                                            prints "N passed, N failed" and exits
#
# $output holds what the last command printed on both channels; $work is a folder of your own, removed at the end.

passed=0 failed=0 skipped=0 output=
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

pass() { passed=$((passed + 1)); }

fail()
{
    failed=$((failed + 1))
    echo "FAILED $1${2:+: $2}"
}

skip()
{
    skipped=$((skipped + 1))
    echo "$1: skipped: $2"
}

check_status()
{
    check_want=$1 check_name=$2
    shift 2
    output=$("$@" 2>&1 </dev/null)
    check_got=$?
    if [ "$check_got" -eq "$check_want" ]; then pass; return 0; fi
    fail "$check_name" "exit status $check_got, should be $check_want: $*"
    printf '%s\n' "$output" | head -n 20 | sed 's/^/    /'
    return 1
}

check() { check_status 0 "$@"; }

have() { command -v "$1" >/dev/null 2>&1; }

finish()
{
    if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
    else echo "$passed passed, $failed failed"
    fi
    [ "$failed" -eq 0 ]
    exit
}
