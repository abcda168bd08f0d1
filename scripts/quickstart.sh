#!/bin/sh
# Train a small FENet on synthetic street scenes, score it and draw what it sees: pictures in minutes, on a CPU.
# Usage: [PYTHON=...] sh scripts/quickstart.sh [OPTION of train.py...]
set -eu
cd "$(dirname "$0")/.."
root=$(pwd) caller=$(pwd)
. scripts/find_python.sh

python=$(find_python)
out=runs/quickstart
# glibc: keep freed memory instead of asking the kernel for it in every step
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000
take='import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)'
if [ -e "$out/.lock" ] && ! "$python" -c "$take" "$out/.lock" 2>/dev/null; then
    echo "error: $out: another quickstart is writing here; let it end first" >&2
    exit 5
fi
if [ -n "$(find "$out" -mindepth 1 -maxdepth 1 ! -name earlier 2>/dev/null)" ]; then
    number=1
    while [ -e "$out/earlier/$number" ]; do number=$((number + 1)); done
    mkdir -p "$out/earlier/$number"
    find "$out" -mindepth 1 -maxdepth 1 ! -name earlier -exec mv {} "$out/earlier/$number/" \;
    echo "the earlier run is now in $out/earlier/$number"
fi
options=$(recipe quickstart "$@")
# shellcheck disable=SC2086  # an option is two words
"$python" train.py $options --ckpt "$(dirname "$out")" --exp "$(basename "$out")" --resume never "$@"
"$python" eval.py --snapshot "$out/best.pth" --split val --save_dir "$out" --dump_images --report
"$python" - "$out" <<'END'
import json
import sys

with open(f"{sys.argv[1]}/metrics.json") as file:
    metrics = json.load(file)
print(f"mean IoU {100 * metrics['mean_iou']:.1f} % on {metrics['num_images']} synthetic scenes it has not seen.")
print(f"Pictures: {sys.argv[1]}/overlay/   Scores: {sys.argv[1]}/metrics.json   All on one page: {sys.argv[1]}/report.html")
END
