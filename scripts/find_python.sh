# Sourced by other scripts, which set `root` (the repository) and `caller` (the folder from which relative paths count).
#
# From the environment:
#   PYTHON  the interpreter (unset: the first that has PyTorch: the one in VENV, python3, python)
#   VENV    the virtual environment; a relative path counts from the repository (.venv)

# absolute PATH: the path as seen from where the script was started
absolute() {
    case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$caller/$1" ;;
    esac
}

# environment_folder: print the folder of the virtual environment
environment_folder() {
    case ${VENV:-} in
    /*) printf '%s\n' "$VENV" ;;
    *) printf '%s\n' "$root/${VENV:-.venv}" ;;
    esac
}

# find_python: print the interpreter to use
find_python() {
    environment=$(environment_folder)
    for candidate in "${PYTHON:-$environment/bin/python}" python3 python; do
        case $candidate in
        */*) candidate=$(absolute "$candidate") ;;
        esac
        if "$candidate" -c 'import torch' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
        [ -z "${PYTHON:-}" ] || break
    done
    if [ -n "${PYTHON:-}" ]; then
        echo "error: PYTHON=$PYTHON: no interpreter that can import torch; name another, or unset it" >&2
    else
        echo "error: neither $environment/bin/python nor python3 nor python can import torch; make quickstart sets up .venv," \
            "or name an interpreter: PYTHON=..." >&2
    fi
    return 5
}

# recipe NAME [OPTION...]: print the options of recipes/NAME.args, one a line, without comments; its number of epochs only
# where OPTIONs have no --max_iters
recipe() {
    file=$root/recipes/$1.args length=epochs
    shift
    for word in "$@"; do
        case $word in
        --max_iters | --max_iters=*) length=steps ;;
        --options_from | --options_from=*)
            echo "error: --options_from: the recipe's options would win over the file's; give them here, or start train.py" >&2
            return 2
            ;;
        esac
    done
    while read -r line; do
        case $length$line in
        epochs\#* | steps\#* | steps--max_epoch*) ;;
        *) printf '%s\n' "$line" ;;
        esac
    done <"$file"
}

# start PROGRAM [OPTION...]: the Python program in the place of this script; with --dry-run among the options, or DRY_RUN=1,
# it is only printed
start() {
    for word in "$@"; do
        shift
        case $word in
        --dry-run | --dry_run) DRY_RUN=1 ;;
        *) set -- "$@" "$word" ;;
        esac
    done
    if [ -n "${DRY_RUN:-}" ]; then
        print_command "$(find_python 2>/dev/null || echo python)" "$@"
        return
    fi
    interpreter=$(find_python) || return
    exec "$interpreter" "$@"
}

# print_command WORD...: the words as a shell reads them
print_command() {
    for word in "$@"; do
        case $word in
        '' | *[!A-Za-z0-9_./:=,@%+-]*) printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")" ;;
        *) printf '%s ' "$word" ;;
        esac
    done
    printf '\n'
}
