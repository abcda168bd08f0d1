"""This machine and its copy of the code: its cores, how threads wait, memory that is freed, and the revision.

Imported before PyTorch by each program, so it needs no library.
"""

import ctypes
import functools
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DESCRIBE = ["git", "describe", "--always", "--exclude", "*", "--abbrev=40", "--dirty"]
# parameters of glibc's mallopt(3), and those values of its own defaults that its growth ends at
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
DEFAULTS = {TRIM_THRESHOLD: 64 << 20, TOP_PAD: 128 << 10, MMAP_THRESHOLD: 32 << 20, MMAP_MAX: 65536}
KEEPING = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 << 20, MMAP_MAX: 0}
# how long OpenMP's threads spin before they sleep: libgomp's by turns, about 0.1 ms; Intel's and LLVM's in milliseconds
SPINNING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
MOST_LOADERS = 8  # more hold batches in memory that nobody waits for
CONTROL_GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def limit_spinning() -> None:
    """For the first lines of a program, before PyTorch loads OpenMP: threads that wait for others sleep soon.

    By default they spin for 3 ms (libgomp) or 200 ms (Intel, LLVM), on cores that other processes could use, among them
    those that they wait for. What the user set stays: one of `SPINNING`, or `OMP_WAIT_POLICY` for all of them.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SPINNING.items():
            os.environ.setdefault(name, value)


@functools.cache
def usable_cores() -> int:
    """Processors that this process may use: as many as it may run on, or fewer where a container's quota is smaller."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def loader_processes() -> int:
    """Loader processes for each training process of this machine, by its usable cores: from 1 to `MOST_LOADERS`."""
    return max(1, min(MOST_LOADERS, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _quota(groups: Path = CONTROL_GROUPS, own: Path = OWN_GROUPS) -> float:
    """The smallest CPU quota of this process's control group and of those above it, in processors; inf: none.

    Args:
        groups: Where control groups are mounted: version 2 itself, version 1 in `cpu`.
        own: Lines `number:controllers:path`, version 2 without controllers.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:  # not Linux
        return math.inf
    quotas = [math.inf]
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        for group in (Path(path), *Path(path).parents):  # a container may see its own group as the root
            folder = groups / ("cpu" if controllers else "") / str(group).lstrip("/")
            quotas += _read_quota(folder / "cpu.max") or _read_quota(folder / "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return min(quotas)


def _read_quota(file: Path, period: str | None = None) -> list[float]:
    """Microseconds of processor time in a period over the period's; empty where there is no such file or no limit."""
    try:
        words = file.read_text().split() + ([file.with_name(period).read_text()] if period else [])
        used, whole = map(int, words)
    except (OSError, ValueError):  # `max 100000`
        return []
    return [used / whole] if used > 0 and whole > 0 else []


def keep_freed_memory(keep: bool = True) -> None:
    """Have glibc's malloc keep what is freed (`keep`), or give it back as it does by default.

    By default it takes large blocks from the kernel and returns them at once, so that on a CPU every map of a network
    is made of pages that the kernel has to clear first: about a quarter of a training step. The most memory that
    a program needs at once stays the same. Other allocators and systems are left as they are.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    for parameter, value in (KEEPING if keep else DEFAULTS).items():
        libc.mallopt(parameter, value)
    if not keep:
        libc.malloc_trim(0)


def present_revision() -> str | None:
    """The commit of the working tree, with `-dirty` where tracked files differ from it; None outside of git."""
    try:
        done = subprocess.run(DESCRIBE, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return None
    return done.stdout.strip() or None
