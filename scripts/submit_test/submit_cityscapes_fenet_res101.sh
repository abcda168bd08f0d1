#!/bin/sh
# Predict the Cityscapes test split with FENet-R101. OUT/submission.zip is what the server wants,
# and OUT/pred holds its files.
# Usage: sh scripts/submit_test/submit_cityscapes_fenet_res101.sh [SNAPSHOT OUT] [OPTION...]
# Without SNAPSHOT and OUT: results/cityscapes_fenet_res101/best.pth, which the training script leaves, and test/ beside it.
# Options are those of eval.py and win over the protocol; scripts/cityscapes_common.sh lists the environment variables.
set -u
caller=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 5
. "$root/scripts/cityscapes_common.sh"
submit_cityscapes fenet_r101 cityscapes_fenet_res101 "$@"
