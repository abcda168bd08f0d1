#!/bin/sh
# Start train.py, eval.py or demo_folder.py on this machine's GPUs, or as this machine's part of a job on several.
# Usage: sh scripts/launch.sh [--dry-run] PROGRAM [OPTION...]; --dry-run may stand anywhere
# Several machines: the same command on each, with NNODES and HEAD; scripts/launch_common.sh lists the variables and
# docs/scale.md has examples. Relative paths count from the repository. The output is also kept in runs/console/.
set -u
caller=$(pwd)
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 5
. "$root/scripts/launch_common.sh"

if [ "${1:-}" = --dry-run ]; then
    DRY_RUN=1
    shift
fi
case ${1:-} in
train.py | eval.py | demo_folder.py) ;;
*)
    echo "usage: sh $0 [--dry-run] train.py|eval.py|demo_folder.py [OPTION...]" >&2
    exit 2
    ;;
esac
cd "$root" || exit 5
NGPU=${NGPU:-$(visible_gpus)}
[ "$NGPU" != 0 ] || NGPU=1
launch runs/console "$@"
