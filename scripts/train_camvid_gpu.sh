#!/bin/sh
# CamVid on one GPU, from random weights: FENet-R18 or another of the paper's family, the same for all.
# Usage: [ARCH=...] [DATA_ROOT=...] [EXP_DIR=...] sh scripts/train_camvid_gpu.sh [OPTION of train.py...]
# Relative paths count from the repository. Without DATA_ROOT: $FENET_DATA/camvid, then data/camvid.
# ARCH is fenet_r18, sfnet_r18, fenet_r50 ... Images are kept decoded, scaled and augmented on the GPU. Trains on train,
# chooses on val; results in EXP_DIR/camvid_gpu_ARCH.
#
# Measured: what docs/results.md says of receipts whose command names this script. Without one there, neither score nor
# time of this recipe was measured, nor was it run: its options follow the CPU recipes', with more crops and epochs.
set -eu
cd "$(dirname "$0")/.."
. scripts/camvid_common.sh
arch=${ARCH:-fenet_r18}

train_camvid "camvid_gpu_$arch" --arch "$arch" --cache ram --augment device --num_workers 2 \
    --bs_mult 16 --crop_size 352 --class_uniform_tile 128 --amp bf16 \
    --optimizer adamw --lr 1e-3 --weight_decay 0.02 --poly_exp 0.9 --warmup_steps 100 --ema 0.998 \
    --max_epoch 300 --val_every 10 --seed 1 --device cuda "$@"
