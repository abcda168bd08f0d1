# Sourced by the CamVid recipes, from the repository's root.
#
# From the environment, besides what scripts/find_python.sh takes:
#   DATA_ROOT  folder of the data set (unset: $FENET_DATA/camvid, then data/camvid)
#   EXP_DIR    where results go (./results)
root=$(pwd) caller=$(pwd)
. scripts/find_python.sh

# train_camvid NAME OPTION...: start train.py in place of this script; results go to EXP_DIR/NAME
train_camvid() {
    name=$1
    shift
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$DATA_ROOT" "$@"
    python=$(find_python)
    exec "$python" train.py --dataset camvid --ckpt "${EXP_DIR:-./results}" --exp "$name" "$@"
}
