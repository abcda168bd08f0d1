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


def test_a_script_between_torchrun_and_the_process_is_no_launcher(monkeypatch):
    script = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"]
    code = "from utils import distributed; print(distributed.launcher())"
    environment = os.environ | {"TORCHELASTIC_RUN_ID": "none"}
    argv, options = [*script, sys.executable, "-c", code], {"capture_output": True, "text": True, "env": environment}
    found = {subprocess.run(argv, check=True, **options).stdout for _ in range(2)}
    assert len(found) == 1 and f" {os.getpid()} " in found.pop()
