#!/bin/sh
# CamVid from scratch on a CPU: FENet-R18 at half resolution (240x180), about 40 minutes on 2 cores.
# Usage: [DATA_ROOT=...] [EXP_DIR=...] sh scripts/train_camvid_fenet_res18_cpu.sh [OPTION of train.py...]
# Relative paths count from the repository. Without DATA_ROOT: $FENET_DATA/camvid, then data/camvid.
set -eu
cd "$(dirname "$0")/.."
. scripts/camvid_common.sh

train_camvid camvid_fenet_r18_cpu --arch fenet_r18 \
    --pre_size 180 --crop_size 160,224 --scale_min 0.75 --scale_max 1.75 --color_aug 0.2 --no-gblur \
    --class_uniform_pct 0.5 --class_uniform_tile 360 \
    --adamw --lr 0.001 --weight_decay 0.02 --poly_exp 0.9 --warmup_steps 60 --ema 0.99 --aux_weight 0.4 \
    --bs_mult 6 --max_epoch 20 --base_size 240 --val_every 5 --num_workers 1 --seed 1 --device cpu "$@"
