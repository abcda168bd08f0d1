# Sourced by the Cityscapes scripts, which set `caller` (where they were started) and `root` (the repository).
#
# From the environment; relative paths count from where the script was started:
#   NGPU        training processes on this machine, one per GPU (8)
#   EXP_DIR     folder of all experiments (results in the repository)
#   DATA_ROOT   the Cityscapes folder (unset: $FENET_DATA/cityscapes, then data/cityscapes in the repository)
#   PRETRAINED  encoder weights for training: a file, or a name that --pretrained takes (unset: random)
#   TORCHRUN    the launcher of training (unset: torchrun, else the one in .venv)
#   PYTHON      the interpreter of evaluation (unset: python, else the one in .venv)

# absolute PATH: the path as seen from where the script was started
absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$caller/$1" ;;
    esac
}

# find_program CHOSEN NAME VARIABLE: CHOSEN where it is set, else NAME from PATH, else NAME from .venv
find_program() {
    case $1 in
    */*) program=$(absolute "$1") ;;
    *) program=${1:-$2} ;;
    esac
    if [ -z "$1" ] && ! command -v "$program" >/dev/null 2>&1; then
        program=$root/.venv/bin/$2
    fi
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "error: ${1:-$2}: not found; activate the environment that has PyTorch, or set $3" >&2
        return 5
    fi
    printf '%s\n' "$program"
}

# run_logged LOG COMMAND...: run COMMAND with its output on the terminal and appended to LOG. The status is COMMAND's, not
# tee's. A signal from a queue is passed on to COMMAND, which can then save its state; one from the terminal (Ctrl-C, or the
# terminal closes) reaches COMMAND by itself, so this shell only waits for it.
run_logged() {
    log=$1
    shift
    pipe_folder=$(mktemp -d "${TMPDIR:-/tmp}/fenet.XXXXXX") || return 5
    mkfifo "$pipe_folder/output" || return 5
    (
        trap '' HUP INT TERM USR1
        exec tee -a "$log"
    ) <"$pipe_folder/output" &
    tee_pid=$!
    "$@" >"$pipe_folder/output" 2>&1 &
    command_pid=$!
    trap 'kill -TERM "$command_pid" 2>/dev/null' TERM USR1
    trap : INT HUP
    status=0
    wait "$command_pid" || status=$?
    # a signal ends `wait` early, with the command still at work
    while kill -0 "$command_pid" 2>/dev/null; do
        status=0
        wait "$command_pid" || status=$?
    done
    wait "$tee_pid"
    trap - TERM USR1 INT HUP
    rm -rf "$pipe_folder"
    return "$status"
}

# train_cityscapes ARCH EXP [OPTION...]: the paper's recipe; OPTIONs win over it
train_cityscapes() {
    arch=$1 exp=$2
    shift 2
    launcher=$(find_program "${TORCHRUN:-}" torchrun TORCHRUN) || return
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
    cd "$root" && mkdir -p "$run_folder" || return 5
    run_logged "$run_folder/console.log" "$launcher" --standalone --nproc_per_node="${NGPU:-8}" train.py \
        --arch "$arch" --dataset cityscapes --cv 0 --class_uniform_pct 0.5 --class_uniform_tile 1024 \
        --crop_size 1024 --scale_min 0.5 --scale_max 2.0 --color_aug 0.25 --gblur \
        --ohem --wt_bound 1.0 --syncbn --bs_mult 1 --max_epoch 300 \
        --sgd --lr 0.01 --lr_schedule poly --poly_exp 1.0 --repoly 1.5 --rescale 1.0 \
        --ckpt "$experiments" --exp "$exp" "$@"
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
    interpreter=$(find_program "${PYTHON:-}" python PYTHON) || return
    [ -z "${DATA_ROOT:-}" ] || set -- --data_root "$(absolute "$DATA_ROOT")" "$@"
    cd "$root" || return 5
    "$interpreter" eval.py --arch "$arch" --dataset cityscapes --split test --cv_split 0 \
        --inference_mode sliding --scales 0.5,0.75,1.0,1.25,1.5,1.75,2.0 --flip --dump_images \
        --snapshot "$snapshot" --save_dir "$out" --submission "$out/submission.zip" "$@"
}
