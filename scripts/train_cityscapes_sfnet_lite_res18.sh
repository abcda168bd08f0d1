#!/bin/sh
# Train SFNet-Lite-R18 on Cityscapes as its paper does: 1000 epochs, batch 2 per GPU, no auxiliary heads.
# Usage: sh scripts/train_cityscapes_sfnet_lite_res18.sh [OPTION...]
# Options are those of train.py and win over the recipe; scripts/cityscapes_common.sh lists the environment variables.
set -u
caller=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 5
. "$root/scripts/cityscapes_common.sh"
lite=$(recipe sfnet_lite "$@") || exit
# shellcheck disable=SC2086  # an option is two words
train_cityscapes sfnet_lite_r18 cityscapes_sfnet_lite_res18 $lite "$@"
