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

train_camvid camvid_gpu "camvid_gpu_$arch" --arch "$arch" "$@"
