"""One place where faults become one line and an exit code."""

import errno
import io
import os
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
import torch.distributed as dist

from utils.errors import MORE_MEMORY, EnvironmentFault, FENetError, OptionError, PeerLostError
from utils.heartbeat import is_lost_peer
from utils.logging import close_bars, complain, is_output_lost, one_line
from utils.machine import keep_freed_memory, usable_cores
from utils.signals import EARLY, StoppedEarly
from utils.slurm import join_tasks

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)
OUT_OF_MEMORY = (
    "not enough memory",
    "insufficient memory",
    "can't allocate memory",
    "cannot allocate memory",
    "cuda error: out of memory",
)


def run_main(body: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None) -> int:
    """Run `body(argv)` and return the exit code; faults are printed as one line `error: ...`.

    Exit codes: 0 done, 2 options, 3 data, 4 checkpoint, 5 environment or disk, 6 loss not finite, 7 a peer lost; 1 for
    any other exception, which is a mistake of ours and is called internal; 130 after Ctrl-C; 141 where nobody reads
    what is printed any more (`| head`). A traceback is shown only with `--debug` among the arguments.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    join_tasks()
    keep_freed_memory()
    _follow_quota()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        code = body(argv) or 0
        _flush_output()
        return code
    except StoppedEarly:
        with suppress(OSError):
            print(EARLY, flush=True)
        return 0
    except KeyboardInterrupt:
        close_bars()
        complain("error: interrupted")
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _output_is_gone():
            _flush_output()
            return 141  # as a shell says it of a program that SIGPIPE ends
        fault = as_fault(error) or FENetError(f"internal: {type(error).__name__}: {error}; --debug shows where")
        close_bars()
        if "--debug" in argv:
            traceback.print_exc()
        if not _is_said(error):
            complain(f"error: {_shorten(one_line(' '.join(str(fault).split())))}")
        with suppress(OSError):
            _flush_output()
        if dist.is_initialized():
            # one of several processes: while the interpreter ends, what is left of the process group sometimes aborts,
            # and the launcher would see SIGABRT as the exit code
            os._exit(fault.exit_code)
        return fault.exit_code


def _output_is_gone() -> bool:
    """True where standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # it is no file
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _flush_output() -> None:
    """Print what is left; where nobody reads it, or the log has said that it can't be written, it goes nowhere."""
    if sys.stdout is None:  # it was closed from the start
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(AttributeError, OSError, ValueError):  # it is no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError) and not is_output_lost():
            raise


def _follow_quota() -> None:
    """No more threads than processors, where a container's quota is smaller and the user didn't say how many."""
    if "OMP_NUM_THREADS" not in os.environ and usable_cores() < torch.get_num_threads():
        torch.set_num_threads(usable_cores())


def _is_said(error: Exception) -> bool:
    """True if another process that the same launcher started says it: `distributed.job` knows, or options are wrong."""
    same_command = isinstance(error, OptionError) and not dist.is_initialized()
    return getattr(error, "is_said", False) or (same_command and os.environ.get("LOCAL_RANK", "0") != "0")


def _shorten(text: str) -> str:
    """Without the middle of what is too long to be read."""
    return text if len(text) <= 1500 else f"{text[:1000]} ... {text[-400:]}"


def as_fault(error: BaseException) -> FENetError | None:
    """The fault a user can do something about, or None where the exception is a mistake of ours."""
    if isinstance(error, FENetError):
        return error
    text = str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(mark in text for mark in OUT_OF_MEMORY):
        return EnvironmentFault(
            "out of memory; lower the crop, image or batch size, or turn on --amp bf16 (train.py also has"
            " --checkpoint_activations)"
        )
    if is_lost_peer(error):
        reason = str(error).splitlines()[0][:200]
        return PeerLostError(f"another process of this job failed or stopped answering ({reason})")
    if "dataloader worker (pid" in text:  # PyTorch raises it wherever the program is when the process dies
        return EnvironmentFault(f"{error}; {MORE_MEMORY}")
    if "no usable temporary directory" in text:  # PyTorch needs one; a container's files may all be read-only
        return EnvironmentFault(f"{getattr(error, 'strerror', error)}; name a folder that can be written: TMPDIR=...")
    if isinstance(error, OSError) and (error.filename or error.errno in OF_THE_DISK):
        reason = error.strerror or error
        return EnvironmentFault(f"{error.filename or 'output'}: {reason}; check the path, its permissions and the disk")
    return None
