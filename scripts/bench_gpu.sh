#!/bin/sh
# On a machine with a GPU: does training, evaluation and the demo run on it, and how fast are the parts?
# Usage: sh scripts/bench_gpu.sh [PART...]    all of them, in this order:
#   smoke train-step train-step-r101 profile profile-r101 loss hpf infer infer-r101 eval data loss-triton hpf-triton
#
# Each part ends within ten minutes; a part that fails doesn't keep the others from running. From the environment:
#   PYTHON   the interpreter (unset: the first of .venv, python3, python whose PyTorch sees a GPU)
#   RESULTS  folder for the benchmarks' JSON (docs/results)
#   WORK     folder for the rest (runs/bench_gpu)
set -u
cd "$(dirname "$0")/.." || exit 5

results=${RESULTS:-docs/results}
work=${WORK:-runs/bench_gpu}
has_cuda='import sys, torch; sys.exit(not torch.cuda.is_available())'

# find_python: print the interpreter to use; fails where none sees a GPU
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} .venv/bin/python python3 python; do
        if "$candidate" -c "$has_cuda" >/dev/null 2>&1; then
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
        timeout "$seconds" "$@"
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

# smoke: a few steps of training, then evaluation and demo with the weights that they left
smoke() {
    limited 200 "$python" train.py --arch fenet_r18 --dataset synthetic --crop_size 512 --bs_mult 4 --ohem \
        --device cuda --amp bf16 --test_mode --resume never --ckpt "$work" --exp smoke &&
        limited 200 "$python" eval.py --snapshot "$work/smoke/best.pth" --split val --save_dir "$work/smoke" \
            --device cuda --amp bf16 --test_mode --dump_images &&
        limited 200 "$python" demo_folder.py --demo_folder "$work/smoke/overlay" --snapshot "$work/smoke/best.pth" \
            --save_dir "$work/smoke/demo" --device cuda --amp bf16
}

if ! python=$(find_python); then
    echo "error: no CUDA: PyTorch sees no GPU with ${PYTHON:-.venv/bin/python, python3 or python}; name another: PYTHON=..." >&2
    exit 5
fi
all="smoke train-step train-step-r101 profile profile-r101 loss hpf infer infer-r101 eval data loss-triton hpf-triton"
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
mkdir -p "$results" "$work" || exit 5
status=0
for part in "$@"; do
    echo "== $part"
    case $part in
    smoke) smoke ;;
    profile*) limited 600 "$python" scripts/profile_step.py --json "$results/gpu_$part.json" --arch "$(arch_of "$part")" ;;
    *-triton)
        limited 600 "$python" scripts/benchmark.py "${part%-triton}" --json "$results/gpu_$part.json" --kernels triton
        ;;
    train-step* | loss | hpf | infer* | eval | data)
        limited 600 "$python" scripts/benchmark.py "${part%-r101}" --json "$results/gpu_$part.json" \
            --arch "$(arch_of "$part")"
        ;;
    *)
        echo "error: $part: no such part; choose of $all" >&2
        exit 2
        ;;
    esac
    code=$?
    [ "$code" -eq 0 ] || { echo "error: part $part failed with status $code" >&2 && status=$code; }
done
exit "$status"
