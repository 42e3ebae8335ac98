#!/bin/sh
# The program visualize: frames that are numbered and whole, pictures and logs beside them, what Ctrl-C leaves, and what
# it refuses.

cd "$(dirname "$0")/../.." || exit 1
. tests/check.sh
. tests/cli/study.inc

visualize=build/visualize

frames_in() { find "$1/frames" -name 'frame_*.png' 2>/dev/null | wc -l; }

# Reads PNG files of three bytes a pixel to the last byte with Python's own library: sizes, checksums, filters, pixels.
cat >"$work/png.py" <<'PY'
import struct, sys, zlib

def pixels(path):
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, packed, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body), path
        if kind == b"IHDR":
            size = struct.unpack(">IIBBBBB", body)
            assert size[2:] == (8, 2, 0, 0, 0), size
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    assert at == len(data) and kind == b"IEND", path
    raw, row = zlib.decompress(packed), 3 * size[0] + 1
    assert len(raw) == row * size[1], path
    return size[0], size[1], raw, row

wide, high = int(sys.argv[1]), int(sys.argv[2])
for path in sys.argv[3:]:
    w, h, raw, row = pixels(path)
    assert (w, h) == (wide, high), f"{path}: {w} x {h}"
    assert all(raw[y * row] == 0 for y in range(h)), path      # no filter: the bytes are the pixels
    assert raw[1:4] == b"\xff\xff\xff" and raw[-3:] == b"\xff\xff\xff", path   # white corners
    colours = {raw[y * row + 1 + 3 * x:y * row + 4 + 3 * x] for y in range(0, h, 2) for x in range(0, w, 2)}
    assert len(colours) > 20, f"{path}: nothing is drawn"
PY

check "--help" $visualize --help
for word in --policy --model --env --traffic --rates --steps --seed --out 'ffmpeg -framerate' '[100]' \
    '[out/visualize]' 'frame_%04d.png'; do
    case $output in *"$word"*) pass ;; *) fail "--help" "does not mention $word" ;; esac
done

check "one policy" $visualize --quiet --steps 14 --out "$work/a"
says "one policy" "least_load"
for f in contact_sheet.png summary.png log_1.csv results.json frames/frame_0001.png frames/frame_0014.png; do
    there "files written" "$work/a/$f"
done
nothing_left "files written" "$work/a"
if [ "$(frames_in "$work/a")" -eq 14 ]; then pass; else fail "frames" "$(frames_in "$work/a"), should be 14"; fi
if [ "$(wc -l <"$work/a/log_1.csv")" -eq 15 ]; then pass; else fail "log_1.csv" "not 14 rows and a header"; fi
schema visualize "$work/a/results.json"
if have python3; then
    check "frames are whole" python3 "$work/png.py" 960 540 "$work/a/frames/frame_0001.png" \
        "$work/a/frames/frame_0014.png"
else
    skip "frames are whole" "python3 is not installed"
fi
if cmp -s "$work/a/frames/frame_0001.png" "$work/a/frames/frame_0002.png"; then fail "frames" "all the same"
else pass
fi
check "the same again" $visualize --quiet --steps 14 --out "$work/b"
for f in log_1.csv contact_sheet.png summary.png frames/frame_0009.png; do
    if cmp -s "$work/a/$f" "$work/b/$f"; then pass; else fail "the same again" "$f differs"; fi
done

# A shorter run into the same folder: no frame of the longer one stays, and no other file goes.
: >"$work/b/frames/frame_notes.txt"
check "a shorter run" $visualize --quiet --steps 3 --traffic low --out "$work/b"
if [ "$(frames_in "$work/b")" -eq 3 ]; then pass; else fail "a shorter run" "$(frames_in "$work/b") frames"; fi
if [ -e "$work/b/frames/frame_notes.txt" ]; then pass; else fail "a shorter run" "it removed a file of the user"; fi

check "a model" build/train --quiet --episodes 8 --batch 8 --replay 500 --check-every 4 --env honest --out "$work/m"
model=$work/m/model.safetensors
check "side by side" $visualize --quiet --model "$model" --policy round_robin --steps 4 --traffic bursty --out "$work/c"
there "side by side" "$work/c/log_1.csv" "$work/c/log_2.csv"
schema visualize "$work/c/results.json"
if [ "$(cut -d , -f 6 "$work/c/log_1.csv")" = "$(cut -d , -f 6 "$work/c/log_2.csv")" ]; then pass
else fail "side by side" "the policies met different arrivals"
fi
check "many servers" $visualize --quiet --policy sed,random --steps 3 --out "$work/c" \
    --rates 0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02,0.02
check "overload ends the published episode" $visualize --quiet --policy random --env seed0 --steps 40 --out "$work/c"
if grep -q '"episodes_ended": [1-9]' "$work/c/results.json"; then pass; else fail "seed0" "no episode ended"; fi
awk 'BEGIN { print "time,work"; for (i = 0; i < 200; i++) print i "," 1 + i * 7 % 5 }' >"$work/good.csv"
check "a trace" $visualize --quiet --trace "$work/good.csv" --steps 3 --out "$work/c"
check "its log is what similarity reads" build/similarity --quiet --reference "$work/a/log_1.csv" \
    --simulated "$work/c/log_1.csv" --permutations 19 --out "$work/s"
says "its log is what similarity reads" "14 rows of 3 servers: server_1, server_2, server_3"

# Ctrl-C: the frames so far, and everything else of the run so far. (A background job of sh ignores SIGINT, so SIGTERM
# stands in: the same handler. One signal only: the second one ends the program at once, as a second Ctrl-C should.)
$visualize --steps 20000 --quiet --out "$work/i" >"$work/i.out" 2>&1 </dev/null &
victim=$!
tries=0
while [ ! -f "$work/i/frames/frame_0003.png" ] && [ $tries -lt 200 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
kill -TERM $victim 2>/dev/null
wait $victim 2>/dev/null
status=$?
if [ $status -eq 143 ]; then pass; else fail "Ctrl-C" "exit status $status: $(cat "$work/i.out")"; fi
count=$(frames_in "$work/i")
if [ "$count" -ge 1 ] && [ "$count" -lt 20000 ]; then pass; else fail "Ctrl-C" "$count frames"; fi
there "Ctrl-C" "$work/i/contact_sheet.png" "$work/i/summary.png" "$work/i/log_1.csv"
schema visualize "$work/i/results.json"
if grep -q '"complete": false' "$work/i/results.json"; then pass; else fail "Ctrl-C" "it says the run is complete"; fi
if [ "$(wc -l <"$work/i/log_1.csv")" -eq $((count + 1)) ]; then pass; else fail "Ctrl-C" "other rows than frames"; fi
nothing_left "Ctrl-C" "$work/i"

one_line 2 "did you mean least_load" $visualize --policy least_lod --out "$work/no"
one_line 2 "two in all" $visualize --policy sed,random,least_load --out "$work/no"
one_line 2 "--steps" $visualize --steps 0 --out "$work/no"
one_line 2 "trace needs --trace FILE" $visualize --traffic trace --out "$work/no"
one_line 2 "two servers or more" $visualize --rates 0.1 --out "$work/no"
one_line 1 "cannot read $work/none" $visualize --model "$work/none" --out "$work/no"
one_line 1 "not a model" $visualize --model "$work/good.csv" --out "$work/no"
printf 'time,work\n1,x\n' >"$work/bad.csv"
one_line 1 "bad.csv:2:" $visualize --trace "$work/bad.csv" --out "$work/no"
if [ -e "$work/no" ]; then fail "refusals" "they left a folder"; else pass; fi
: >"$work/file"
one_line 1 "cannot make the folder" $visualize --out "$work/file/x"
if have flock; then
    mkdir "$work/busy"
    one_line 1 "another program is writing" flock "$work/busy" $visualize --out "$work/busy"
else
    skip "two programs in one folder" "flock is not installed"
fi
(
    ulimit -f 8
    $visualize --quiet --steps 2 --out "$work/full" >"$work/full.out" 2>&1
    echo $? >"$work/full.status"
)
if [ "$(cat "$work/full.status")" -eq 1 ] && [ "$(wc -l <"$work/full.out")" -eq 1 ]; then pass
else fail "a full disk" "$(cat "$work/full.status") $(cat "$work/full.out")"
fi
nothing_left "a full disk" "$work/full"
finish
