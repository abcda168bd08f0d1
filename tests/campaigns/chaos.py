"""Kill and stop a small training run again and again, and see that nothing is lost.

Usage: python tests/campaigns/chaos.py [--kills N] [--terms N] [--seed N] [--out DIR] [--json FILE]

A run on two processes (gloo, CPU) is trained undisturbed, then disturbed: by SIGTERMs in each phase of a run, to a
process, the launcher or all of them, and by SIGKILLs of a process, the launcher or a loader worker, at random moments
after the first step of each start. The final weights have to be the undisturbed run's to the bit; a SIGTERM may not
cost a step, a SIGKILL one interval between saves at most; no process and no temporary file may be left. Exit 1 where
one of these isn't so; the output of all starts is in DIR/log.txt. Needs Linux's /proc.
"""

import contextlib
import io
import itertools
import json
import random
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.checkpoint.snapshot import load_snapshot
from engine.report.page import versions
from scripts.make_receipt import describe_machine
from scripts.make_synthetic import main as make_synthetic
from tests.campaigns.supervised import LAUNCHER, LOADER, STEP, Hung, Job, answers_signals
from utils.cli import run_main
from utils.errors import OptionError
from utils.files import make_folder, write_json
from utils.options import Parser

PROCESSES, TRAIN_IMAGES, VAL_IMAGES, SAVE_EVERY = 2, 40, 6, 4
STEPS_PER_EPOCH = TRAIN_IMAGES // (2 * PROCESSES)
STEPS_PER_KILL = 8  # a kill comes up to 8 steps and a moment after the first one, and costs some of them
KILL_TARGETS = ("rank 0", "rank 1", LAUNCHER, LOADER)
TERM_PHASES, TERM_TARGETS = ("boot", "step", "save", "validation"), ("rank 0", "rank 1", LAUNCHER, "all")


def parse(argv: Sequence[str]) -> Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="chaos.py", description=__doc__)
    parser.add_argument("--kills", metavar="N", type=int, default=20, help="SIGKILLs; 0: none")
    parser.add_argument("--terms", metavar="N", type=int, default=16, help="SIGTERMs; 0: none")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of targets and moments")
    parser.add_argument("--watchdog", metavar="S", type=float, default=180, help="seconds without a line: it hangs")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/chaos"), help="folder, new or empty")
    parser.add_argument("--json", metavar="FILE", type=Path, default=None, help="what was done and found")
    options = parser.parse_args(argv)
    for name in ("kills", "terms"):
        if getattr(options, name) < 0:
            raise OptionError(f"--{name} {getattr(options, name)}: must be 0 or more")
    if options.out.exists() and any(options.out.iterdir()):
        raise OptionError(f"{options.out}: not empty; name a new folder with --out, or remove what is in it")
    return options


def train_arguments(out: Path, name: str, epochs: int) -> list[str]:
    """A small run with everything that has a state."""
    return [
        *("--arch", "fenet_tiny", "--channels", "8", "--no-aux", "--dataset", "cityscapes"),
        *("--data_root", str((out / "data").resolve()), "--ckpt", str((out / name).resolve()), "--exp", "run"),
        *("--crop_size", "32", "--class_uniform_tile", "32", "--bs_mult", "2", "--adam", "--lr", "0.001"),
        *("--ema", "0.9", "--max_epoch", str(epochs), "--save_every", str(SAVE_EVERY), "--log_every", "1"),
        *("--num_workers", "1", "--device", "cpu", "--no-report", "--timeout", "60"),
    ]


class Campaign:
    """Trains one run undisturbed and once more disturbed, and keeps what was found.

    Args:
        options: See `parse`.
    """

    def __init__(self, options: Namespace) -> None:
        self.options, self.random = options, random.Random(options.seed)
        self.epochs = 1 + options.terms + options.kills * STEPS_PER_KILL // STEPS_PER_EPOCH
        self.arguments = train_arguments(options.out, "disturbed", self.epochs)
        self.folder = options.out / "disturbed" / "run"
        self.found: dict = {"terms": [], "kills": []}
        self.faults: list[str] = []
        self.job: Job | None = None

    def run(self) -> None:
        """Everything; what was done and found is in `found` and `faults`."""
        self.start(train_arguments(self.options.out, "undisturbed", self.epochs))
        if self.job.wait() != 0:
            raise RuntimeError("\n".join(["the undisturbed run failed:", *self.job.attempt.lines[-20:]]))
        self.found |= {"steps": self.epochs * STEPS_PER_EPOCH, "digest": self.job.attempt.digest}
        pairs = list(itertools.product(TERM_PHASES, TERM_TARGETS))
        self.random.shuffle(pairs)
        for phase, target in itertools.islice(itertools.cycle(pairs), self.options.terms):
            self.note("terms", {"phase": phase, "target": target} | self.term(phase, target))
        self.start(self.arguments, restarts=self.options.kills)
        for number in range(self.options.kills):
            if not self.run_to(self.random.randrange(8), self.random.uniform(0, 0.3)):
                self.check(False, f"the run ended before kill {number + 1}")
                break
            self.note("kills", self.kill(self.random.choice(KILL_TARGETS)))
        self.finish()

    def start(self, arguments: Sequence[str], restarts: int = 0) -> Job:
        """A new job."""
        self.job = Job(arguments, PROCESSES, restarts, self.options.watchdog, self.options.out / "log.txt")
        return self.job

    def check(self, condition: bool, fault: str) -> bool:
        """Keep `fault` unless `condition` holds, which is returned."""
        if not condition:
            self.faults.append(fault)
            print(f"FAULT: {fault}", flush=True)
        return condition

    def note(self, kind: str, record: dict) -> None:
        """Keep what one signal did."""
        self.found[kind].append(record)
        print(f"{kind} {len(self.found[kind])}: {json.dumps(record)}", flush=True)

    def finish(self) -> None:
        """Let the job end by itself, and compare what it leaves."""
        self.check(self.job.wait() == 0, f"the last start's exit code is {self.job.process.returncode}")
        self.found["digest_disturbed"] = self.job.attempt.digest
        self.check(self.job.attempt.digest == self.found["digest"], "the final weights are not the undisturbed run's")
        self.check(not self.job.orphans(), "processes are left at the end")
        left = [str(path) for path in self.folder.parent.rglob("*") if path.name.endswith(".tmp")]
        self.check(not left, f"temporary files are left: {left}")
        lines = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        self.check([line["epoch"] for line in lines] == list(range(self.epochs)), "metrics.jsonl has other epochs")

    def run_to(self, steps: int, pause: float) -> bool:
        """Follow the job over its first step and so many steps and seconds more; False if it ended before."""
        for line in self.job.follow():
            steps -= STEP.search(line) is not None
            if steps < 0:
                break
        for _ in self.job.follow(pause):
            pass
        return self.job.attempt.digest is None and self.job.process.poll() is None

    def kill(self, target: str) -> dict:
        """Kill one process, see the job start again, and say what that cost."""
        job, started = self.job, time.monotonic()
        if target not in (roles := job.processes()):
            target = "rank 0"  # a loader worker between two epochs
        job.send(signal.SIGKILL, [self.random.choice(roles[target])])
        if target == LAUNCHER:
            job.wait()
            self.check(not job.orphans(), f"{target} killed: processes are left")
            ended = job.attempt
            self.start(self.arguments, self.options.kills).await_start()
        else:
            ended = job.await_start()
        lost = ended.reached - self.job.attempt.resumed
        self.check(lost <= SAVE_EVERY, f"{target} killed: {lost} steps lost")
        record = {"target": target, "last_step": ended.reached, "resumed_at": self.job.attempt.resumed}
        return record | {"lost_steps": lost, "seconds": round(time.monotonic() - started, 1)}

    def term(self, phase: str, target: str) -> dict:
        """Start, wait for a phase, ask to stop, and see that it stops at the current step."""
        before, job = self.saved_step(), self.start(self.arguments)
        self.await_phase(phase)
        roles = job.processes()
        started = time.monotonic()
        job.send(signal.SIGTERM, sum(roles.values(), []) if target == "all" else roles.get(target, []))
        code, what = job.wait(), f"SIGTERM in {phase} to {target}"
        attempt = job.attempt
        self.check(not job.orphans(), f"{what}: processes are left")
        self.check(code == 0 or target in (LAUNCHER, "all"), f"{what}: exit code {code}")
        if self.check(attempt.stopped is not None or attempt.early, f"{what}: not said; {attempt.lines[-5:]}"):
            saved, reached = self.saved_step(), attempt.step or before
            self.check(saved == reached, f"{what}: saved at step {saved}, not {reached}")
            self.check(attempt.stopped in (None, saved), f"{what}: saved {saved}, said {attempt.stopped}")
        return {
            "stopped_at": attempt.stopped,
            "before_the_first_step": attempt.step is None,
            "validation_abandoned": phase == "validation" and not attempt.validated,
            "seconds": round(time.monotonic() - started, 2),
        }

    def saved_step(self) -> int:
        """Where a run would go on."""
        last = self.folder / "last.pth"
        return load_snapshot(last)["training"]["state"]["step"] if last.exists() else 0

    def await_phase(self, phase: str) -> None:
        """Follow the job into a phase of its run; boot begins when the processes hold signals back."""
        job = self.job
        if phase == "boot":
            deadline = time.monotonic() + self.options.watchdog
            while sum(map(answers_signals, job.ranks())) < PROCESSES and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(self.random.uniform(0, 4))
            return
        last = self.folder / "last.pth"
        for line in job.follow():
            found = STEP.search(line)
            if found and (phase != "validation" or int(found[1]) % STEPS_PER_EPOCH == 0):
                break
        before, deadline = _changed_at(last), time.monotonic() + 5
        if phase == "step":
            time.sleep(self.random.uniform(0, 0.3))
        elif phase == "save":
            while not any(self.folder.glob(".*.tmp")) and time.monotonic() < deadline:
                time.sleep(0.0005)
        else:
            while _changed_at(last) == before and time.monotonic() < deadline:
                time.sleep(0.0005)


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def run(argv: Sequence[str]) -> int:
    """The campaign; 1 if it found a fault."""
    options = parse(argv)
    make_folder(options.out, "--out")
    size = ["--height", "48", "--width", "64", "--train", str(TRAIN_IMAGES), "--val", str(VAL_IMAGES), "--test", "0"]
    with contextlib.redirect_stdout(io.StringIO()):
        make_synthetic([str(options.out / "data"), *size])
    campaign, started = Campaign(options), time.monotonic()
    try:
        campaign.run()
    except Hung as hung:
        campaign.check(False, f"{hung}; it said last: {campaign.job.attempt.lines[-5:]}")
    finally:
        if campaign.job is not None:
            campaign.job.end()
    found = campaign.found | {"faults": campaign.faults, "seconds": round(time.monotonic() - started)}
    found |= {"seed": options.seed, "processes": PROCESSES, "save_every": SAVE_EVERY}
    found |= {"versions": versions(), "hardware": describe_machine()}
    if options.json:
        write_json(options.json, found)
    print("; ".join(campaign.faults) or "nothing was lost, nothing is left")
    return 1 if campaign.faults else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
