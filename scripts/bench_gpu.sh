#!/bin/sh
# On a machine with a GPU: does everything run there, is it right, how good is a model that it trains, how fast is it?
# Usage: sh scripts/bench_gpu.sh [PART...]    without PART: all of them, in this order:
#   facts         gpu-facts, gpu-facts-triton, cuda-tests, smoke
#   accuracy      accuracy-fenet_r18, accuracy-sfnet_r18: CamVid from scratch, scored on test, with receipts
#   speed         two-on-one, profile, train-step, infer, eval, loss, hpf
#   the rest      train-step-r101, profile-r101, infer-r101, data, loss-triton, hpf-triton
#
# facts, accuracy and speed each end within ten minutes, and so does each of the rest; any name above is a PART. A part that
# fails doesn't keep the others from running. From the environment:
#   PYTHON     the interpreter (unset: the first of .venv, python3, python whose PyTorch sees a GPU)
#   RESULTS    folder for the results' JSON (docs/results), each with its command and the card
#   WORK       folder for the rest (runs/bench_gpu)
#   DATA_ROOT  CamVid's folder (unset: as in train.py)
#   EPOCHS     of accuracy (200)
#   DEVICE     cpu: facts in small on a machine without a GPU, which tries the programs and measures nothing; results in WORK
set -u
export PYTHONUNBUFFERED=1 # what is stopped has said what it did
cd "$(dirname "$0")/.." || exit 5

work=${WORK:-runs/bench_gpu}
device=${DEVICE:-cuda}
has_device='import sys, torch; sys.exit(not torch.cuda.is_available())'
smoke_arch=fenet_r18 side=512
if [ "$device" = cpu ]; then
    has_device='import torch'
    smoke_arch=fenet_tiny side=64
    RESULTS=${RESULTS:-$work}
fi
results=${RESULTS:-docs/results}

# find_python: print the interpreter to use; fails where none sees a GPU
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} .venv/bin/python python3 python; do
        if "$candidate" -c "$has_device" >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
        [ -z "${PYTHON:-}" ] || break
    done
    return 1
}

# limited SECONDS COMMAND...: run COMMAND, no longer than that where the machine has `timeout`
limited() {
    seconds=$1
    shift
    if command -v timeout >/dev/null 2>&1; then
        timeout -k 10 "$seconds" "$@"
    else
        "$@"
    fi
}

# arch_of PART: print the model that it is about
arch_of() {
    case $1 in
    *-r101) echo fenet_r101 ;;
    *) echo fenet_r18 ;;
    esac
}

# facts_of PART: what gpu_facts.py finds with PyTorch's operations, or with Triton's kernels
facts_of() {
    kernels=torch seconds=200
    [ "$1" = gpu-facts ] || kernels=triton seconds=80
    if [ "$kernels$device" = tritoncpu ]; then
        echo "left out: Triton's kernels need a GPU"
        return 0
    fi
    limited "$seconds" "$python" scripts/benchmarks/gpu_facts.py --json "$results/gpu_${1#gpu-}.json" \
        --kernels "$kernels" --device "$device"
}

# cuda_tests: the tests that only a GPU can run
cuda_tests() {
    if [ "$device" = cpu ] || ! "$python" -c 'import pytest' >/dev/null 2>&1; then
        echo "left out: these tests need a GPU and pytest"
        return 0
    fi
    limited 100 "$python" -m pytest -q -k "cuda or gpu" tests/network/triton tests/loss/triton tests/network/test_alignment.py
}

# smoke: a few steps of training, then evaluation and demo with the weights that they left
smoke() {
    limited 90 "$python" train.py --arch "$smoke_arch" --dataset synthetic --crop_size "$side" --bs_mult 4 --ohem \
        --device "$device" --amp bf16 --test_mode --resume never --ckpt "$work" --exp smoke &&
        limited 50 "$python" eval.py --snapshot "$work/smoke/best.pth" --split val --save_dir "$work/smoke" \
            --device "$device" --amp bf16 --test_mode --dump_images &&
        limited 50 "$python" demo_folder.py --demo_folder "$work/smoke/overlay" --snapshot "$work/smoke/best.pth" \
            --save_dir "$work/smoke/demo" --device "$device" --amp bf16
}

# accuracy ARCH: train on CamVid, score on test, and write the receipt; a training that is cut off is scored without one
accuracy() {
    name=camvid_gpu_$1
    out=$work/$name.$$
    # shellcheck disable=SC2016  # the receipt's own places
    command='DATA_ROOT=$DATA EXP_DIR=$OUT ARCH='"$1 sh scripts/train_camvid_gpu.sh --max_epoch ${EPOCHS:-200}"
    # shellcheck disable=SC2016
    command="$command"' && python eval.py --snapshot $OUT/'"$name"'/best.pth --data_root $DATA --split test'
    # shellcheck disable=SC2016
    command="$command"' --save_dir $OUT/test --dump_images --device cuda --amp bf16'
    limited 260 "$python" scripts/make_receipt.py "$name" --execute --dataset camvid --out_folder "$out" \
        ${DATA_ROOT:+--data_root "$DATA_ROOT"} --out "$results/gpu_camvid_$1.json" --command "$command" \
        --title "from scratch, one GPU, ${EPOCHS:-200} epochs" --tolerance 0.03 \
        --variant "11 classes; trained on train, chosen on val; whole image, single scale, no flip" \
        --covers "other GPUs and versions, not other seeds; not measured" && return 0
    code=$?
    [ -f "$out/$name/best.pth" ] || return "$code"
    limited 25 "$python" eval.py --snapshot "$out/$name/best.pth" ${DATA_ROOT:+--data_root "$DATA_ROOT"} --split test \
        --save_dir "$out/cut" --device cuda --amp bf16
    return "$code"
}

# part NAME [SECONDS]: carry out one, benchmarks for so long at most
part() {
    case $1 in
    gpu-facts*) facts_of "$1" ;;
    cuda-tests) cuda_tests ;;
    smoke) smoke ;;
    accuracy-*) accuracy "${1#accuracy-}" ;;
    two-on-one) limited "${2:-600}" "$python" scripts/benchmarks/two_on_one.py --json "$results/gpu_two-on-one.json" ;;
    profile*)
        limited "${2:-600}" "$python" scripts/profile_step.py --json "$results/gpu_$1.json" --arch "$(arch_of "$1")"
        ;;
    *-triton)
        limited "${2:-600}" "$python" scripts/benchmark.py "${1%-triton}" --json "$results/gpu_$1.json" --kernels triton
        ;;
    *)
        limited "${2:-600}" "$python" scripts/benchmark.py "${1%-r101}" --json "$results/gpu_$1.json" \
            --arch "$(arch_of "$1")"
        ;;
    esac
}

# tried NAME [SECONDS]: `part`, whose failure is said
tried() {
    echo "== $1"
    part "$@"
    code=$?
    [ "$code" -eq 0 ] || { echo "error: part $1 failed with status $code" >&2 && status=$code; }
}

if ! python=$(find_python); then
    echo "error: no CUDA: PyTorch sees no GPU with ${PYTHON:-.venv/bin/python, python3 or python}; name another: PYTHON=..." >&2
    exit 5
fi
rest="train-step-r101 profile-r101 infer-r101 data loss-triton hpf-triton"
facts="gpu-facts gpu-facts-triton cuda-tests smoke"
accuracy="accuracy-fenet_r18 accuracy-sfnet_r18"
speed="two-on-one profile train-step infer eval loss hpf"
all="facts accuracy speed $rest"
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
for name in "$@"; do
    case " $all $facts $accuracy $speed " in
    *" $name "*) ;;
    *)
        echo "error: $name: no such part; choose of $all $facts $accuracy $speed" >&2
        exit 2
        ;;
    esac
    if [ "$device" = cpu ]; then
        case " facts $facts " in
        *" $name "*) ;;
        *) echo "error: $name: DEVICE=cpu is for facts only" >&2 && exit 2 ;;
        esac
    fi
done
mkdir -p "$results" "$work" || exit 5
status=0
for name in "$@"; do
    case $name in
    facts) for one in $facts; do tried "$one"; done ;;
    accuracy) for one in $accuracy; do tried "$one"; done ;;
    speed)
        # together 580 s; the first time a model is compiled takes longest
        for one in two-on-one:60 profile:60 train-step:140 infer:120 eval:90 loss:50 hpf:60; do
            tried "${one%:*}" "${one#*:}"
        done
        ;;
    *) tried "$name" ;;
    esac
done
exit "$status"
