#!/bin/sh
# Train on Cityscapes with AdamW, warm-up, a weight average, bf16 and synchronised norms, instead of the paper's recipe.
# Usage: [ARCH=...] sh scripts/train_cityscapes_modern.sh [OPTION...]
# ARCH is fenet_r18 unless set. Options are those of train.py and win over the recipe; the other environment variables
# are in scripts/cityscapes_common.sh.
#
# Measured: nothing on Cityscapes, which isn't at hand here: no score of this recipe is known, nor that it beats the
# paper's. AdamW, warm-up and weight average are what the receipts of smaller models use (docs/results.md), where they
# weren't compared with SGD. bf16 was not compared with float32 in a whole training.
set -u
caller=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 5
. "$root/scripts/cityscapes_common.sh"
arch=${ARCH:-fenet_r18}
modern=$(recipe cityscapes_modern "$@") || exit
# shellcheck disable=SC2086  # an option is two words
train_cityscapes "$arch" "cityscapes_modern_$arch" $modern "$@"
