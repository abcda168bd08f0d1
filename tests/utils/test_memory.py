"""utils/machine.py: with it, memory that was used once is used again without the kernel's help."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from utils.machine import keep_freed_memory
keep_freed_memory(sys.argv[1] == "keep")
for turn in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(64 << 20) for _ in range(2)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    """Page faults of making two blocks of 64 MiB for the fourth time."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept():
    pages = 128 << 8
    assert faults("keep") < pages / 100
    assert faults("default") > pages / 2
