"""This machine and its copy of the code: memory that is freed stays, and the revision."""

import ctypes
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DESCRIBE = ["git", "describe", "--always", "--exclude", "*", "--abbrev=40", "--dirty"]
# parameters of glibc's mallopt(3), and those values of its own defaults that its growth ends at
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
DEFAULTS = {TRIM_THRESHOLD: 64 << 20, TOP_PAD: 128 << 10, MMAP_THRESHOLD: 32 << 20, MMAP_MAX: 65536}
KEEPING = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 << 20, MMAP_MAX: 0}


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
