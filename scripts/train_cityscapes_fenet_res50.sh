#!/bin/sh
# Train FENet-R50 on Cityscapes as the paper does for R18 and R101.
# Usage: sh scripts/train_cityscapes_fenet_res50.sh [OPTION...]
# Options are those of train.py and win over the recipe; scripts/cityscapes_common.sh lists the environment variables.
set -u
caller=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 5
. "$root/scripts/cityscapes_common.sh"
train_cityscapes fenet_r50 cityscapes_fenet_res50 "$@"
