#!/bin/sh
# CamVid in an hour of 2 CPU cores: train_camvid_2cores.sh's successor, in bf16, with the augmentation and losses
# that helped on drives that weren't trained on.
# Usage: [ARCH=...] [DATA_ROOT=...] [EXP_DIR=...] sh scripts/train_camvid_hour.sh [OPTION of train.py...]
# Relative paths count from the repository. Without DATA_ROOT: $FENET_DATA/camvid, then data/camvid.
# ARCH is fenet (64 channels) or smp_fpn: each trains for as many epochs as fit the hour, at its best learning rate of
# three. Needs requirements-extras.txt. Trains on train, chooses on val. Results go to EXP_DIR/camvid_hour_ARCH.
#
# How it was chosen, and its rules: docs/accuracy.md. Scores: docs/results.md. Epochs are by a timing with two threads,
# docs/results/bench_study-steps_camvid_hour.json. Processors without bf16 instructions train in float32; a Zen 3, whose
# steps take 4.3 s, for near six hours.
set -eu
cd "$(dirname "$0")/.."
. scripts/camvid_common.sh
arch=${ARCH:-fenet}

case $arch in
fenet) epochs=105 ;;
smp_fpn) epochs=107 ;;
*)
    echo "error: ARCH=$arch: fenet or smp_fpn; for others start train.py with the options in recipes/camvid_hour.json" >&2
    exit 2
    ;;
esac
case " $* " in
*" --max_iters"*) ;;
*) set -- --max_epoch "$epochs" "$@" ;;
esac
[ "$arch" != fenet ] || set -- --channels 64 "$@"

train_camvid camvid_hour "camvid_hour_$arch" --arch "$arch" "$@"
