#!/bin/sh
# CamVid from scratch on a CPU: FENet-R18 at half resolution (240x180), about 40 minutes on 2 cores.
# Usage: [DATA_ROOT=...] [EXP_DIR=...] sh scripts/train_camvid_fenet_res18_cpu.sh [OPTION of train.py...]
# Relative paths count from the repository. Without DATA_ROOT: $FENET_DATA/camvid, then data/camvid.
set -eu
cd "$(dirname "$0")/.."
. scripts/camvid_common.sh

train_camvid camvid_fenet_r18_cpu camvid_fenet_r18_cpu "$@"
