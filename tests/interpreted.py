"""Tests of Triton's kernels in a process of their own: Triton has to be told before it is imported how it runs."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"  # of the cases, in that process

each_way = pytest.mark.parametrize(
    "way",
    [
        pytest.param("interpreter", marks=pytest.mark.slow),
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
    ],
)


def run_cases(path: str, way: str) -> None:
    """Run the tests of the file `path` in Triton's interpreter on the CPU, or on `cuda`; fail with what they print."""
    if find_spec("triton") is None:
        pytest.skip("the package triton isn't installed")
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env |= {"TRITON_INTERPRET": "1"} if way == "interpreter" else {}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
