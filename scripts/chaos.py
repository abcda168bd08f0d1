"""Kill and stop a small training run again and again, and see that nothing is lost.

Usage: python scripts/chaos.py [--kills N] [--terms N] [--seed N] [--out DIR] [--json FILE]

A run on two processes (gloo, CPU) is trained undisturbed, then again with N random SIGKILLs of a training process, the
launcher or a loader worker, and once more with N SIGTERMs in each phase of a run, to a process, the launcher or all of
them. The weights at the end are the undisturbed run's to the bit, a kill costs one interval between saves at most, a
SIGTERM not a step, no process and no temporary file is left. Exit 1 where one of these isn't so. Needs Linux's /proc.
"""

import itertools
import json
import random
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.checkpoint import load_snapshot  # noqa: E402
from engine.report.facts import versions  # noqa: E402
from scripts.make_receipt import describe_machine  # noqa: E402
from scripts.make_synthetic import main as make_synthetic  # noqa: E402
from scripts.supervised import LAUNCHER, LOADER, STEP, Hung, Job  # noqa: E402
from utils.cli import run_main  # noqa: E402
from utils.errors import OptionError  # noqa: E402
from utils.files import make_folder, write_json  # noqa: E402
from utils.options import Parser  # noqa: E402

PROCESSES, TRAIN_IMAGES, VAL_IMAGES, SAVE_EVERY = 2, 24, 6, 4
STEPS_PER_EPOCH = TRAIN_IMAGES // (2 * PROCESSES)
STEPS_PER_KILL = 10  # a kill comes up to 8 steps and a moment after the first one, and costs some
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
        *("--num_workers", "1", "--device", "cpu", "--no-report", "--val_every", "2", "--timeout", "60"),
    ]


class Campaign:
    """Starts the runs, disturbs them, and keeps what was found.

    Args:
        options: See `parse`.
    """

    def __init__(self, options: Namespace) -> None:
        self.options, self.random = options, random.Random(options.seed)
        self.faults: list[str] = []
        self.job: Job | None = None

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

    def undisturbed(self, epochs: int) -> str:
        """The digest of a run that nothing disturbs."""
        job = self.start(train_arguments(self.options.out, f"undisturbed_{epochs}", epochs))
        if job.wait() != 0 or job.attempt.digest is None:
            raise RuntimeError("\n".join(["the undisturbed run failed:", *job.attempt.lines[-20:]]))
        return job.attempt.digest

    def finish(self, name: str, epochs: int, digest: str) -> dict:
        """Let the job end by itself, and compare what it leaves."""
        self.check(self.job.wait() == 0, f"{name}: the launcher's exit code is {self.job.process.returncode}")
        self.check(self.job.attempt.digest == digest, f"{name}: the final weights are not the undisturbed run's")
        self.check(not self.job.orphans(), f"{name}: processes are left")
        folder = self.options.out / name
        left = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith(".tmp")]
        self.check(not left, f"{name}: temporary files are left: {left}")
        lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        self.check([line["epoch"] for line in lines] == list(range(epochs)), f"{name}: metrics.jsonl has other epochs")
        return {"steps": epochs * STEPS_PER_EPOCH, "digest": digest, "final_digest": self.job.attempt.digest}

    def kills(self, count: int) -> dict:
        """SIGKILLs at random moments after the first step of each start."""
        epochs = count * STEPS_PER_KILL // STEPS_PER_EPOCH + 1
        digest = self.undisturbed(epochs)
        arguments = train_arguments(self.options.out, "killed", epochs)
        self.start(arguments, restarts=count)
        done = []
        for number in range(count):
            steps, pause = self.random.randrange(8), self.random.uniform(0, 0.3)
            target = self.random.choice(KILL_TARGETS)
            if not self.run_to(steps, pause):
                self.check(False, f"the run ended before kill {number + 1}")
                break
            done.append(self.kill(target, arguments, count - number))
            print(f"[{number + 1}/{count}] {json.dumps(done[-1])}", flush=True)
        return {"kills": done} | self.finish("killed", epochs, digest)

    def run_to(self, steps: int, pause: float) -> bool:
        """Follow the job over its first step and so many steps and seconds more; False if it ended before."""
        for line in self.job.follow():
            steps -= STEP.search(line) is not None
            if steps < 0:
                break
        for _ in self.job.follow(pause):
            pass
        return self.job.attempt.digest is None and self.job.process.poll() is None

    def kill(self, target: str, arguments: Sequence[str], restarts: int) -> dict:
        """Kill one process, see the job start again, and say what that cost."""
        job, started = self.job, time.monotonic()
        if target not in (roles := job.processes()):
            target = "rank 0"  # a loader worker between two epochs
        job.send(signal.SIGKILL, [self.random.choice(roles[target])])
        if target == LAUNCHER:
            job.wait()
            self.check(not job.orphans(), f"{target} killed: processes are left")
            ended = job.attempt
            self.start(arguments, restarts).await_start()
        else:
            ended = job.await_start()
        lost = ended.reached - self.job.attempt.resumed
        self.check(lost <= SAVE_EVERY, f"{target} killed: {lost} steps lost")
        record = {"target": target, "last_step": ended.reached, "resumed_at": self.job.attempt.resumed}
        return record | {"lost_steps": lost, "seconds": round(time.monotonic() - started, 1)}

    def terms(self, count: int) -> dict:
        """SIGTERMs in each phase of a run, to each target."""
        epochs = count + 2  # the one that is stopped in its validation is gone on with
        digest = self.undisturbed(epochs)
        arguments = train_arguments(self.options.out, "stopped", epochs)
        pairs = list(itertools.product(TERM_PHASES, TERM_TARGETS))
        self.random.shuffle(pairs)
        done = []
        for number, (phase, target) in zip(range(count), itertools.cycle(pairs), strict=False):
            self.start(arguments)
            done.append({"phase": phase, "target": target} | self.term(phase, target))
            print(f"[{number + 1}/{count}] {json.dumps(done[-1])}", flush=True)
        self.start(arguments)
        return {"terms": done} | self.finish("stopped", epochs, digest)

    def term(self, phase: str, target: str) -> dict:
        """Wait for a phase, ask to stop, and see that it stops at the current step."""
        job, folder = self.job, self.options.out / "stopped" / "run"
        self.await_phase(phase, folder)
        roles = job.processes()
        started = time.monotonic()
        job.send(signal.SIGTERM, sum(roles.values(), []) if target == "all" else roles.get(target, []))
        code, what = job.wait(), f"SIGTERM in {phase} to {target}"
        attempt = job.attempt
        self.check(not job.orphans(), f"{what}: processes are left")
        self.check(code == 0 or target in (LAUNCHER, "all"), f"{what}: exit code {code}")
        if self.check(attempt.stopped is not None or attempt.early, f"{what}: not said; {attempt.lines[-5:]}"):
            last = folder / "last.pth"
            saved = load_snapshot(last)["training"]["state"]["step"] if last.exists() else 0
            self.check(saved == attempt.reached, f"{what}: saved at step {saved}, not {attempt.reached}")
            self.check(attempt.stopped in (None, saved), f"{what}: saved {saved}, said {attempt.stopped}")
        return {
            "stopped_at": attempt.stopped,
            "before_the_first_step": attempt.step is None,
            "validation_abandoned": phase == "validation" and not attempt.validated,
            "seconds": round(time.monotonic() - started, 2),
        }

    def await_phase(self, phase: str, folder: Path) -> None:
        """Follow the job into a phase of its run."""
        job = self.job
        if phase == "boot":
            deadline = time.monotonic() + self.options.watchdog
            while len(job.processes()) < 1 + PROCESSES and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(self.random.uniform(0, 4))
            return
        last = folder / "last.pth"
        for line in job.follow():
            found = STEP.search(line)
            if found and (phase != "validation" or int(found[1]) % STEPS_PER_EPOCH == 0):
                break
        before, deadline = _changed_at(last), time.monotonic() + 5
        if phase == "step":
            time.sleep(self.random.uniform(0, 0.3))
        elif phase == "save":
            while not any(folder.glob(".*.tmp")) and time.monotonic() < deadline:
                time.sleep(0.0005)
        else:
            while _changed_at(last) == before and time.monotonic() < deadline:
                time.sleep(0.0005)


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def run(argv: Sequence[str]) -> int:
    """Both campaigns; 1 if one found a fault."""
    options = parse(argv)
    make_folder(options.out, "--out")
    size = ["--height", "48", "--width", "64", "--train", str(TRAIN_IMAGES), "--val", str(VAL_IMAGES), "--test", "0"]
    make_synthetic([str(options.out / "data"), *size])
    campaign, started, found = Campaign(options), time.monotonic(), {}
    try:
        if options.kills:
            found |= {"killed": campaign.kills(options.kills)}
        if options.terms:
            found |= {"stopped": campaign.terms(options.terms)}
    except Hung as hung:
        campaign.check(False, f"{hung}; it said last: {campaign.job.attempt.lines[-5:]}")
    finally:
        if campaign.job is not None:
            campaign.job.end()
    settings = {"seed": options.seed, "processes": PROCESSES, "save_every": SAVE_EVERY}
    found |= {"faults": campaign.faults, "seconds": round(time.monotonic() - started), "settings": settings}
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
