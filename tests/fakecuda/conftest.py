"""The guard, compiled once for all tests, by whichever process comes first."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.fakecuda.harness import compile_guard, obstacle


@pytest.fixture(scope="session")
def guard(tmp_path_factory) -> Path:
    """The compiled guard; where it can't be had, the tests are skipped."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "fakecuda"  # one for all workers
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        library = folder / "guard.so"
        return library if library.exists() else compile_guard(folder)
