"""utils/machine.py: with it, memory that was used once is used again without the kernel's help."""

import resource
import sys

import pytest

from tests.processes import launch
from utils.machine import keep_freed_memory


def count_faults(keep: str) -> None:
    """Page faults of making two blocks of 64 MiB for the fourth time."""
    keep_freed_memory(keep == "keep")
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [bytearray(64 << 20) for _ in range(2)]
        del blocks
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept():
    pages = 128 << 8
    assert int(launch([count_faults, "keep"]).stdout) < pages / 100
    assert int(launch([count_faults, "default"]).stdout) > pages / 2
