"""Cases in forked workers: one that hangs or dies costs its worker, and the campaign goes on."""

import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.campaigns.fuzz.guard import Guard, limit_memory

BATCH = 40  # cases of one worker
PATIENCE = 6  # times the limit, of waiting; the limit itself is processor time, which a busy machine doesn't spoil
CLOCK = os.sysconf("SC_CLK_TCK")

# (random generator, the case's own empty folder, the guard) -> short outcome, and what was wrong
Target = Callable[[np.random.Generator, Path, Guard], tuple[str, list[str]]]


@dataclass
class Limits:
    """Of one case: seconds of processor time, bytes of mapped and of resident memory on top of what was there."""

    seconds: float = 10.0
    mapped: int = 4 << 30
    resident: int = 3 << 29


@dataclass
class Summary:
    """What a target's cases came to."""

    cases: int = 0
    outcomes: Counter = field(default_factory=Counter)
    faults: list[dict] = field(default_factory=list)  # `case` and `what`
    slowest_seconds: float = 0.0
    most_memory: int = 0
    seconds: float = 0.0

    def add(self, report: dict) -> None:
        """Count one case's report."""
        self.cases += 1
        self.outcomes[report["outcome"]] += 1
        self.faults += [{"case": report["case"], "what": what} for what in report["found"]]
        self.slowest_seconds = max(self.slowest_seconds, report.get("seconds", 0.0))
        self.most_memory = max(self.most_memory, report.get("memory", 0))

    def plain(self) -> dict:
        """As plain data."""
        return {**vars(self), "outcomes": dict(sorted(self.outcomes.items()))}


def run_campaign(name: str, target: Target, cases: Iterable[int], seed: int, folder: Path, limits: Limits) -> Summary:
    """Run the cases of one target; the same name, seed and number always give the same case."""
    summary, waiting, started = Summary(), list(cases), time.monotonic()
    while waiting:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        while batch:
            reports = _run_batch(name, target, batch, seed, folder, limits)
            for report in reports:
                summary.add(report)
            batch = batch[len(reports) :]
    summary.seconds = time.monotonic() - started
    return summary


def _run_batch(name: str, target: Target, batch: list[int], seed: int, folder: Path, limits: Limits) -> list[dict]:
    """Reports of the first cases of `batch`: of all, unless one hangs or kills the worker, which is the last then."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work(name, target, batch, seed, folder, limits, writer)
    os.close(writer)
    reports = []
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while len(reports) < len(batch):
            line, reason = _next_line(pipe, pid, limits)
            if not line:
                reports.append({"case": batch[len(reports)], "outcome": reason, "found": [reason]})
                break
            reports.append(json.loads(line))
    _end(pid)
    return reports


def _next_line(pipe, pid: int, limits: Limits) -> tuple[bytes, str]:
    """The worker's next report, or nothing and why."""
    start, spent = time.monotonic(), _processor_seconds(pid)
    while not select.select([pipe], [], [], 0.2)[0]:
        waited, worked = time.monotonic() - start, _processor_seconds(pid) - spent
        if worked > limits.seconds or waited > PATIENCE * limits.seconds:
            return b"", f"hangs: {worked:.0f} s of processor time in {waited:.0f} s"
    line = pipe.readline()
    return line, "" if line else "the process died"


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK


def _end(pid: int) -> None:
    """Kill the worker and what it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)


def _work(name: str, target: Target, batch: list[int], seed: int, folder: Path, limits: Limits, writer: int) -> None:
    """The worker's life; never returns."""
    try:
        os.setsid()
        sys.dont_write_bytecode = True
        tempfile.tempdir = str(folder)
        place = folder / "case"
        guard = Guard(folder)
        limit_memory(limits.mapped)
        for case in batch:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            report = run_case(name, target, case, seed, place, guard, limits)
            os.write(writer, json.dumps(report).encode() + b"\n")
    except BaseException as error:
        print(f"tests.fuzz itself failed at {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


def run_case(name: str, target: Target, case: int, seed: int, place: Path, guard: Guard, limits: Limits) -> dict:
    """One case in this process; its report as plain data."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), case])
    guard.memory, started = 0, time.monotonic()
    outcome, found = target(rng, place, guard)
    if guard.memory > limits.resident:
        found.append(f"took {guard.memory >> 20} MiB of memory")
    seconds = time.monotonic() - started
    return {"case": case, "outcome": outcome, "found": found, "seconds": seconds, "memory": guard.memory}
