#!/bin/sh
# Train a small FENet on synthetic street scenes, score it and draw what it sees: pictures in minutes, on a CPU.
# Usage: [PYTHON=...] sh scripts/quickstart.sh [OPTION of train.py...]
set -eu
cd "$(dirname "$0")/.."
root=$(pwd) caller=$(pwd)
. scripts/find_python.sh

python=$(find_python)
out=runs/quickstart
model="--arch fenet_tiny --no-aux --dataset synthetic"
recipe="--crop_size 192,256 --scale_min 0.75 --scale_max 1.5 --color_aug 0.1 --no-gblur --class_uniform_tile 256
--adamw --lr 0.003 --weight_decay 0.01 --warmup_steps 30 --ema 0.98
--bs_mult 8 --max_epoch 11 --val_every 11 --num_workers 0 --no-report"

# glibc: keep freed memory instead of asking the kernel for it in every step
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000
rm -rf "$out"
# shellcheck disable=SC2086  # the variables hold several words each
"$python" train.py $model --ckpt "$(dirname "$out")" --exp "$(basename "$out")" --resume never $recipe "$@"
"$python" eval.py --snapshot "$out/best.pth" --split val --save_dir "$out" --dump_images --report
"$python" - "$out" <<'END'
import json
import sys

with open(f"{sys.argv[1]}/metrics.json") as file:
    metrics = json.load(file)
print(f"mean IoU {100 * metrics['mean_iou']:.1f} % on {metrics['num_images']} synthetic scenes it has not seen.")
print(f"Pictures: {sys.argv[1]}/overlay/   Scores: {sys.argv[1]}/metrics.json   All on one page: {sys.argv[1]}/report.html")
END
