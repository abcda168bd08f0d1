#!/bin/sh
# CamVid on 2 CPU cores, within an hour: a pretrained EfficientNet-Lite0 under FENet's decoder, or under another.
# Usage: [ARCH=...] [DATA_ROOT=...] [EXP_DIR=...] sh scripts/train_camvid_2cores.sh [OPTION of train.py...]
# Relative paths count from the repository. Without DATA_ROOT: $FENET_DATA/camvid, then data/camvid.
# ARCH is fenet (64 channels), smp_fpn, smp_deeplabv3plus or any other that takes the encoder: all get the same budget,
# data and augmentation. Needs requirements-extras.txt. Trains on train, chooses on val.
# Results go to EXP_DIR/camvid_2cores_ARCH.
#
# Measured: what docs/results.md says of receipts whose command names this script, with their time and machine. Without
# one there, neither its score nor its time was measured, only that it runs. Its options weren't searched one by one.
set -eu
cd "$(dirname "$0")/.."
. scripts/camvid_common.sh
arch=${ARCH:-fenet}

[ "$arch" != fenet ] || set -- --channels 64 "$@"

train_camvid camvid_2cores "camvid_2cores_$arch" --arch "$arch" "$@"
