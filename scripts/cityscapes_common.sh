# Sourced by the Cityscapes scripts, which set `caller` (where they were started) and `root` (the repository).
#
# From the environment, besides what scripts/launch_common.sh lists; relative paths count from where the script was started:
#   NGPU        training processes on each machine, one per GPU (8)
#   EXP_DIR     folder of all experiments (results in the repository)
#   DATA_ROOT   the Cityscapes folder (unset: $FENET_DATA/cityscapes, then data/cityscapes in the repository)
#   PRETRAINED  encoder weights for training: a file, or a name that --pretrained takes (unset: the deep-stem file of the
#               SFNet authors where it lies in pretrained_models/ in the repository, as in the releases; else random)
#   PYTHON      the interpreter of evaluation (unset: the first that has PyTorch: the one in VENV, python3, python)
. "$root/scripts/launch_common.sh"

# train_cityscapes ARCH EXP [OPTION...]: the paper's recipe; OPTIONs win over it, and --dry-run may be among them
train_cityscapes() {
    arch=$1 exp=$2
    shift 2
    experiments=$root/results
    [ -z "${EXP_DIR:-}" ] || experiments=$(absolute "$EXP_DIR")
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$(absolute "$DATA_ROOT")" "$@"
    read_options --ckpt "$experiments" --exp "$exp" "$@"
    if [ -z "${PRETRAINED:-}" ] && [ "$weights" = random ] && PRETRAINED=$(find_deep_stem "${arch##*_r}"); then
        echo "Encoder weights: $PRETRAINED. PRETRAINED= names others."
    fi
    if [ -n "${PRETRAINED:-}" ]; then
        [ ! -e "$(absolute "$PRETRAINED")" ] || PRETRAINED=$(absolute "$PRETRAINED")
        set -- --pretrained "$PRETRAINED" "$@"
    elif [ "$weights" = random ]; then
        say_random "${arch##*_r}"
    fi
    cd "$root" || return 5
    [ -n "${NGPU:-}" ] || [ "$device" = cpu ] || gpus_wanted=8
    NGPU=${NGPU:-8}
    options=$(recipe cityscapes "$@") || return
    # shellcheck disable=SC2086  # an option is two words
    launch "$run_folder" train.py --arch "$arch" $options --ckpt "$experiments" --exp "$exp" "$@"
}

# find_deep_stem DEPTH: print the file of the SFNet authors' ImageNet weights, if it lies where the releases look for it
find_deep_stem() {
    for file in "$root/pretrained_models/resnet$1"[-_]*deep*.pth; do
        [ -f "$file" ] || return 1
        printf '%s\n' "$file"
        return 0
    done
}

# say_random DEPTH: say that the encoder starts from random weights, and how to get others
say_random() {
    echo "WARNING: the encoder starts from random weights, which costs accuracy; the paper's starts from ImageNet's."
    [ "$1" = 18 ] || echo "  PRETRAINED=imagenet sh $0   # downloads weights of exactly this encoder"
    case $1 in
    18 | 50 | 101)
        echo "  PRETRAINED=FILE sh $0   # the SFNet authors' resnet$1-deep-stem, or lay that file into pretrained_models/"
        ;;
    esac
}

# read_options OPTION...: set run_folder (where train.py leaves its results), weights (random or given) and device
read_options() {
    previous='' run_exp='' run_ckpt='' weights=random device=''
    for argument in "$@"; do
        case $previous in
        --exp) run_exp=$argument ;;
        --ckpt) run_ckpt=$argument ;;
        --device) device=$argument ;;
        esac
        case $argument in
        --exp=*) run_exp=${argument#*=} ;;
        --ckpt=*) run_ckpt=${argument#*=} ;;
        --device=*) device=${argument#*=} ;;
        --pretrained | --pretrained=* | --snapshot | --snapshot=*) weights=given ;;
        esac
        previous=$argument
    done
    run_folder=$run_ckpt/$run_exp
}

# submit_cityscapes ARCH EXP [SNAPSHOT OUT] [OPTION...]: sliding windows at seven scales on the test split, checked and
# zipped; OPTIONs win. Without SNAPSHOT and OUT: what the training script of EXP left, into the folder test beside it
submit_cityscapes() {
    arch=$1 run=$root/results/$2
    [ -z "${EXP_DIR:-}" ] || run=$(absolute "$EXP_DIR")/$2
    shift 2
    [ "${1:-}" != --dry-run ] || {
        shift
        DRY_RUN=1
    }
    case ${1--} in
    -*)
        if [ ! -f "$run/best.pth" ]; then
            echo "error: no SNAPSHOT is named, and $run/best.pth, which the training script leaves, isn't there; name one, or" \
                "set EXP_DIR to the folder of the experiments; usage: sh $0 SNAPSHOT OUT [OPTION of eval.py...]" >&2
            return 2
        fi
        echo "Snapshot: $run/best.pth. Results: $run/test"
        set -- "$run/best.pth" "$run/test" "$@"
        ;;
    esac
    if [ $# -lt 2 ] || [ -z "$1" ] || [ -z "$2" ]; then
        echo "usage: sh $0 SNAPSHOT OUT [OPTION of eval.py...]" >&2
        return 2
    fi
    snapshot=$(absolute "$1") out=$(absolute "$2")
    shift 2
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$(absolute "$DATA_ROOT")" "$@"
    cd "$root" || return 5
    start eval.py --arch "$arch" --dataset cityscapes --split test --cv_split 0 \
        --inference_mode sliding --scales 0.5,0.75,1.0,1.25,1.5,1.75,2.0 --flip --dump_images \
        --snapshot "$snapshot" --save_dir "$out" --submission "$out/submission.zip" "$@"
}
