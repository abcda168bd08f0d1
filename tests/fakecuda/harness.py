"""Compiles the guard, and runs tasks in a process that has loaded it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

ROOT, SOURCE = Path(__file__).resolve().parents[2], Path(__file__).with_name("guard.cpp")


def obstacle() -> str | None:
    """Why the guard can't be had here, in words."""
    if shutil.which("g++") is None:
        return "no C++ compiler (g++)"
    return "PyTorch is built with CUDA, whose guard is the real one" if torch.backends.cuda.is_built() else None


def compile_guard(folder: Path) -> Path:
    """Compile the guard for the PyTorch that is installed, which takes two seconds."""
    home, library = Path(torch.__file__).parent, folder / "guard.so"
    command = ["g++", "-O0", "-shared", "-fPIC", "-std=c++20", str(SOURCE), "-o", str(library)]
    command += [f"-I{home / part}" for part in ("include", "include/torch/csrc/api/include")]
    command += [f"-L{home / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{home / 'lib'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


def task(run: str, *args: str, fault: str | None = None, **options: object) -> dict:
    """A call of a function of `runs`, perhaps with a fault of `faults`."""
    return {"run": run, "args": args, "options": options, "fault": fault}


def carry_out(tasks: dict[str, dict], guard: Path, folder: Path) -> dict[str, dict]:
    """The results of named tasks, run in one process: each the fields of `runs.Result`, and CPU `seconds`."""
    asked, left = folder / "tasks.json", folder / "results.json"
    asked.write_text(json.dumps(tasks))
    command = [sys.executable, "-W", "ignore", "-m", "tests.fakecuda.session", *map(str, (guard, asked, left))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(left.read_text())


def faults_of(results: dict[str, dict]) -> str:
    """What is wrong, by task, in lines; empty: nothing is."""
    return "\n".join(f"{name}: {fault}" for name, result in results.items() for fault in result["faults"])
