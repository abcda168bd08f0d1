"""Memory that a program frees stays with it, so that the next step doesn't have to ask the kernel for it again."""

import ctypes
import sys

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
