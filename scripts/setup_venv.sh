#!/bin/sh
# Make or complete a virtual environment. Usage: setup_venv.sh VENV PYTHON REQUIREMENTS_FILE...
# An environment that this script began and did not finish (no stamp, which the Makefile writes last) is made anew;
# one that somebody else made is used as it is, and nothing in it is removed.
set -eu

venv=$1 python=$2
shift 2
owned="$venv/.made_by_fenet"

if [ -z "$python" ]; then
    echo "error: no Python 3.11 or newer with the modules venv and ensurepip; install one or name it: make PYTHON=..." >&2
    exit 5
fi
if [ -e "$owned" ] && [ ! -e "$venv/.core.stamp" ]; then
    rm -rf "$venv"
fi
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    # of .venv, remains without a pyvenv.cfg are nobody's environment and are replaced; anything else is left alone
    if [ -e "$venv" ] && [ ! -e "$owned" ] && { [ -e "$venv/pyvenv.cfg" ] || [ "$(basename "$venv")" != .venv ]; }; then
        echo "error: $venv exists and has no working pip; remove it or name another: make VENV=..." >&2
        exit 5
    fi
    echo "making the virtual environment $venv"
    rm -rf "$venv"
    mkdir -p "$venv"
    : >"$owned"
    "$python" -m venv "$venv"
fi
rm -f "$venv/.core.stamp" "$venv/.dev.stamp"

torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' constraints.txt)
echo "installing $torch and $*"
# torch first and by its exact pin, so that a CPU build that is offered is taken and the others only meet it
"$venv/bin/python" -m pip install --quiet "$torch"
for file in "$@"; do
    set -- "$@" -r "$file"
    shift
done
"$venv/bin/python" -m pip install --quiet "$@" -c constraints.txt
