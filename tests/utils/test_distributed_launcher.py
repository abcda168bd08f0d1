"""Who started this process: torchrun, by machine, process and start."""

import os
import subprocess
import sys

from utils import distributed


def test_a_launcher_is_told_from_the_next_one(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert distributed.launcher() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "fenet")
    here = distributed.launcher()
    assert here == distributed.launcher() and f" {os.getppid()} " in here
    code = "from utils import distributed; print(distributed.launcher())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f" {os.getpid()} " in child.stdout and child.stdout.strip() != here
