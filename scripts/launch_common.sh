# Sourced by the scripts that start training, which set `caller` (where they were started) and `root` (the repository).
#
# From the environment:
#   NGPU          processes on this machine, one per GPU (the GPUs that CUDA_VISIBLE_DEVICES names, or all)
#   NNODES        machines: a number, or MIN:MAX where they may come and go (unset: this one alone)
#   HEAD          with NNODES: HOST:PORT of the machine where all meet, which has to stay; the same on all
#   RUN_ID        with NNODES: a name for the job, the same on all (fenet)
#   RESTARTS      how often processes are started anew after one is lost (0; with NNODES 3)
#   IFNAME        network interface, where the right one isn't found (such as eth0)
#   NODE_ADDRESS  with NNODES: this machine's address, where its host name doesn't lead to it
#   RDZV_CONF     with NNODES: further settings of the meeting, key=value,... (torchrun's --rdzv_conf)
#   TORCHRUN      the launcher (unset: torchrun, else the one in VENV)
#   VENV          the virtual environment (.venv)
#   DRY_RUN       1: print what would be started, and start nothing; --dry-run anywhere among the options does the same

. "$root/scripts/find_python.sh"
gpus_wanted='' # a script's that makes no sense on fewer

# visible_gpus: print how many GPUs a program started here would find
visible_gpus() (
    count=0
    if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
        IFS=,
        for gpu in $CUDA_VISIBLE_DEVICES; do
            [ "${gpu#-}" = "$gpu" ] || break # CUDA reads no further
            count=$((count + 1))
        done
        echo "$count"
    else
        nvidia-smi -L 2>/dev/null | {
            while read -r kind _; do
                [ "$kind" != GPU ] || count=$((count + 1))
            done
            echo "$count"
        }
    fi
)

# check_gpus WANTED: one line and a failure where fewer GPUs are here; where nobody can tell, the program will
check_gpus() {
    found=$(visible_gpus)
    if [ "$found" = 0 ] && interpreter=$(find_python 2>/dev/null); then # nvidia-smi isn't everywhere
        found=$("$interpreter" -c 'import torch; print(torch.cuda.device_count())' 2>/dev/null)
    fi
    case $found in
    0)
        echo "error: no CUDA device found, and this recipe is for $1; a trial on the CPU: NGPU=1 sh $0 --device cpu --bs_mult 2" >&2
        return 5
        ;;
    '' | *[!0-9]*) return 0 ;;
    esac
    [ "$found" -lt "$1" ] || return 0
    echo "error: GPUs found: $found, and this recipe is for $1; what comes close on yours says python scripts/plan.py" \
        "--gpus $found --memory GIB, and NGPU=$found sh $0 takes fewer crops a step" >&2
    return 5
}

# find_torchrun: print the launcher to use
find_torchrun() {
    program=${TORCHRUN:-torchrun}
    case $program in
    */*) program=$(absolute "$program") ;;
    esac
    if [ -z "${TORCHRUN:-}" ] && ! command -v "$program" >/dev/null 2>&1; then
        program=$(environment_folder)/bin/torchrun
    fi
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "error: ${TORCHRUN:-torchrun}: not found; activate the environment that has PyTorch, or set TORCHRUN" >&2
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

# launch FOLDER PROGRAM [OPTION...]: start PROGRAM under torchrun on this machine, its output also in FOLDER
launch() {
    folder=$1
    shift
    for word in "$@"; do
        shift
        case $word in
        --dry-run | --dry_run) DRY_RUN=1 ;;
        *) set -- "$@" "$word" ;;
        esac
    done
    # a queue warns with USR1, which torchrun then passes on to its processes
    set -- --signals_to_handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 "$@"
    if [ -z "${NNODES:-}" ]; then
        set -- --standalone --nproc_per_node="$NGPU" ${RESTARTS:+--max_restarts="$RESTARTS"} "$@"
    elif [ -z "${HEAD:-}" ]; then
        echo "error: NNODES=$NNODES needs HEAD=HOST:PORT, the machine where all meet, the same on all" >&2
        return 2
    else
        set -- --rdzv_id="${RUN_ID:-fenet}" --max_restarts="${RESTARTS:-3}" ${RDZV_CONF:+--rdzv_conf="$RDZV_CONF"} \
            ${NODE_ADDRESS:+--local_addr="$NODE_ADDRESS"} "$@"
        set -- --nnodes="$NNODES" --nproc_per_node="$NGPU" --rdzv_backend=c10d --rdzv_endpoint="$HEAD" "$@"
    fi
    # torch 2.13 keeps one store for all rounds of a job, with the addresses of processes that are gone, and announces its
    # own address in the first round only, so that processes started anew, or machines that join later, wait in vain
    [ -z "${NNODES:-}${RESTARTS:-}" ] || export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    if [ -n "${IFNAME:-}" ]; then
        export GLOO_SOCKET_IFNAME="$IFNAME" NCCL_SOCKET_IFNAME="$IFNAME"
    fi
    if [ -n "${DRY_RUN:-}" ]; then
        [ -z "${IFNAME:-}" ] || printf 'GLOO_SOCKET_IFNAME=%s NCCL_SOCKET_IFNAME=%s ' "$IFNAME" "$IFNAME"
        print_command "${TORCHRUN:-torchrun}" "$@"
        return 0
    fi
    [ -z "$gpus_wanted" ] || check_gpus "$gpus_wanted" || return
    launcher=$(find_torchrun) || return
    if [ -n "${UNDER_SRUN:-}" ]; then
        exec "$launcher" "$@" # SLURM keeps the output, and signals this process
    fi
    mkdir -p "$folder" || return 5
    console=console${NNODES:+.$(uname -n)}.log # on a shared disk each machine writes its own
    said_before=0 status=0
    [ ! -f "$folder/$console" ] || said_before=$(wc -l <"$folder/$console")
    run_logged "$folder/$console" "$launcher" "$@" || status=$?
    [ "$status" != 1 ] || tail -n "+$((said_before + 1))" "$folder/$console" | say_cause || status=$?
    return "$status"
}

# say_cause: torchrun ends in pages of traceback and in 1 whatever happened; from its output, which is read here, repeat
# the program's own error, and return its exit code
say_cause() {
    cause='' code=1
    while read -r line; do
        case $line in
        'error: '*) cause=$line ;;
        'exitcode '*) code=${line#*: } code=${code%% *} ;; # the last one is the first failure's
        esac
    done
    case $code in
    [2-7]) ;;
    *) return 1 ;;
    esac
    [ -z "$cause" ] || printf '\n%s\n' "$cause" >&2
    return "$code"
}
