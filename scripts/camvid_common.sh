# Sourced by the CamVid recipes, from the repository's root.
#
# From the environment, besides what scripts/find_python.sh takes:
#   DATA_ROOT  folder of the data set (unset: $FENET_DATA/camvid, then data/camvid)
#   EXP_DIR    where results go (./results)
root=$(pwd) caller=$(pwd)
. scripts/find_python.sh

# train_camvid RECIPE NAME OPTION...: start train.py in place of this script, or print it (--dry-run anywhere); results
# go to EXP_DIR/NAME
train_camvid() {
    recipe=$1 name=$2
    shift 2
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$DATA_ROOT" "$@"
    options=$(recipe "$recipe" "$@")
    # shellcheck disable=SC2086  # an option is two words
    start train.py --dataset camvid --ckpt "${EXP_DIR:-./results}" --exp "$name" $options "$@"
}
