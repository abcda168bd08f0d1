# Sourced by the Cityscapes scripts, which set `caller` (where they were started) and `root` (the repository).
#
# From the environment, besides what scripts/launch_common.sh lists; relative paths count from where the script was started:
#   NGPU        training processes on each machine, one per GPU (8)
#   EXP_DIR     folder of all experiments (results in the repository)
#   DATA_ROOT   the Cityscapes folder (unset: $FENET_DATA/cityscapes, then data/cityscapes in the repository)
#   PRETRAINED  encoder weights for training: a file, or a name that --pretrained takes (unset: random)
#   PYTHON      the interpreter of evaluation (unset: the first that has PyTorch: the one in VENV, python3, python)
. "$root/scripts/launch_common.sh"

# train_cityscapes ARCH EXP [--dry-run] [OPTION...]: the paper's recipe; OPTIONs win over it
train_cityscapes() {
    arch=$1 exp=$2
    shift 2
    if [ "${1:-}" = --dry-run ]; then
        DRY_RUN=1
        shift
    fi
    experiments=$root/results
    [ -z "${EXP_DIR:-}" ] || experiments=$(absolute "$EXP_DIR")
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$(absolute "$DATA_ROOT")" "$@"
    if [ -n "${PRETRAINED:-}" ]; then
        [ ! -e "$(absolute "$PRETRAINED")" ] || PRETRAINED=$(absolute "$PRETRAINED")
        set -- --pretrained "$PRETRAINED" "$@"
    fi
    read_options --ckpt "$experiments" --exp "$exp" "$@"
    if [ "$weights" = random ]; then
        echo "The encoder starts from random weights, which costs accuracy. For ImageNet weights: PRETRAINED=FILE sh $0"
    fi
    cd "$root" || return 5
    NGPU=${NGPU:-8}
    options=$(recipe cityscapes) || return 5
    # shellcheck disable=SC2086  # an option is two words
    launch "$run_folder" train.py --arch "$arch" $options --ckpt "$experiments" --exp "$exp" "$@"
}

# read_options OPTION...: set run_folder (where train.py leaves its results) and weights (random or given)
read_options() {
    previous='' run_exp='' run_ckpt='' weights=random
    for argument in "$@"; do
        case $previous in
        --exp) run_exp=$argument ;;
        --ckpt) run_ckpt=$argument ;;
        esac
        case $argument in
        --exp=*) run_exp=${argument#*=} ;;
        --ckpt=*) run_ckpt=${argument#*=} ;;
        --pretrained | --pretrained=* | --snapshot | --snapshot=*) weights=given ;;
        esac
        previous=$argument
    done
    run_folder=$run_ckpt/$run_exp
}

# submit_cityscapes ARCH SNAPSHOT OUT [OPTION...]: sliding windows at seven scales on the test split, checked and zipped;
# OPTIONs win
submit_cityscapes() {
    if [ $# -lt 3 ] || [ -z "$2" ] || [ -z "$3" ]; then
        echo "usage: sh $0 SNAPSHOT OUT [OPTION of eval.py...]" >&2
        return 2
    fi
    arch=$1 snapshot=$(absolute "$2") out=$(absolute "$3")
    shift 3
    interpreter=$(find_python) || return
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$(absolute "$DATA_ROOT")" "$@"
    cd "$root" || return 5
    "$interpreter" eval.py --arch "$arch" --dataset cityscapes --split test --cv_split 0 \
        --inference_mode sliding --scales 0.5,0.75,1.0,1.25,1.5,1.75,2.0 --flip --dump_images \
        --snapshot "$snapshot" --save_dir "$out" --submission "$out/submission.zip" "$@"
}
