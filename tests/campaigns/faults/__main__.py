"""Apply each fault to a copy of the tree, and see that a test notices.

Usage: python -m tests.campaigns.faults [--only WORD]

Prints a line for each fault: the first test that failed, or that none did. Exits 1 if a fault wasn't noticed, 2 if the
tests fail without one.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.campaigns.faults.faults import FAULTS, Fault

ROOT = Path(__file__).parents[3]
LEFT_OUT = (".git", ".venv", "runs", "logs", "__pycache__", ".*_cache", ".hypothesis")


def copy_tree(target: Path) -> Path:
    """The repository without what isn't its own."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return target


def replace(text: str, fault: Fault) -> str:
    """The file's text with the fault in it. Raises ValueError unless the old text stands there exactly once."""
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file}: {fault.old!r} stands there {text.count(fault.old)} times; mend tests/faults")
    return text.replace(fault.old, fault.new)


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Exit code of pytest, and the first test that failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", *tests]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed[1] if failed else (done.stdout or done.stderr).strip().splitlines()[-1]


def notice(tree: Path, fault: Fault) -> tuple[bool, str]:
    """Whether a test fails with the fault, and which."""
    path = tree / fault.file
    whole = path.read_text()
    path.write_text(replace(whole, fault))
    try:
        code, said = run_tests(tree, fault.tests)
    finally:
        path.write_text(whole)
    return code == 1, said


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="faults with this in their name")
    options = parser.parse_args(argv)
    chosen = [fault for fault in FAULTS if options.only in fault.name]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        tree = copy_tree(Path(folder) / "tree")
        code, said = run_tests(tree, tuple(dict.fromkeys(test for fault in chosen for test in fault.tests)))
        if code != 0:
            print(f"without any fault: {said}")
            return 2
        missed = 0
        for fault in chosen:
            started = time.monotonic()
            noticed, said = notice(tree, fault)
            missed += not noticed
            verdict, seconds = "noticed" if noticed else "MISSED", time.monotonic() - started
            print(f"{verdict:<8} {fault.name}: {said} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults were noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
