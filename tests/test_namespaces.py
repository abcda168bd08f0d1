"""Two machines, as far as the network goes: two network namespaces that are joined by a cable."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import eval_args, make_scenes, train_args
from tests.processes import ROOT, launch

pytestmark = pytest.mark.slow
HEAD, OTHER = "10.77.0.1", "10.77.0.2"
# patience with a lost machine, and with one that may still come, in seconds
RDZV = "keep_alive_interval=1,keep_alive_max_attempt=3,last_call_timeout=2,join_timeout=60"
EQUAL = ("--fix_bn", "--dropout", "0", "--class_uniform_pct", "0", "--no-aux", "--lr", "0.001", "--save_every", "1")
STEPS = 12


def ip(*words: str) -> None:
    """Run iproute2; a test is skipped where that isn't there or the kernel forbids it."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("iproute2 is not installed")
    if done.returncode:
        pytest.skip(f"no network namespaces here: ip {' '.join(words)}: {done.stderr.strip()}")


class Machines:
    """Two namespaces, `fenetPID_1` at `HEAD` and `fenetPID_2` at `OTHER`, and what runs in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, [f"fenet{os.getpid()}_{i}" for i in (1, 2)]
        self.running: list[subprocess.Popen] = []
        self.started = time.monotonic()

    def __enter__(self) -> "Machines":
        for name in self.names:
            ip("netns", "add", name)
        cable = [f"ve{os.getpid()}a", f"ve{os.getpid()}b"]
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for name, end, address in zip(self.names, cable, (HEAD, OTHER), strict=True):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "link", "set", end, "name", "cable")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for number in (1, 2):
            self.kill(number)
        for process in self.running:
            process.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def start(self, number: int, log: str, *command: str) -> subprocess.Popen:
        """Start `sh scripts/launch.sh` on machine 1 or 2, its output in a file of that name."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "NGPU": "1", "NNODES": "1:2"}
        env |= {"HEAD": f"{HEAD}:29400", "NODE_ADDRESS": (HEAD, OTHER)[number - 1], "IFNAME": "cable"}
        env |= {"RDZV_CONF": f"{RDZV},is_host={int(number == 1)}", "RUN_ID": log.split(".")[0]}
        env |= {"UNDER_SRUN": "1", "TORCHRUN": str(Path(sys.executable).with_name("torchrun"))}
        self.say(f"machine {number}: starts {log}")
        whole = ["ip", "netns", "exec", self.names[number - 1], "sh", "-c", LAUNCH, "sh", *command]
        with open(self.folder / f"{log}.{number}", "a") as file:
            process = subprocess.Popen(whole, cwd=ROOT, env=env, stdout=file, stderr=file, start_new_session=True)
        self.running.append(process)
        return process

    def kill(self, number: int) -> None:
        """Everything on machine 1 or 2 at once, as if the power failed."""
        pids = subprocess.run(["ip", "netns", "pids", self.names[number - 1]], capture_output=True, text=True).stdout
        for pid in map(int, pids.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def say(self, text: str) -> None:
        """A line of the story that a run leaves in `story.txt`."""
        with open(self.folder / "story.txt", "a") as file:
            print(f"{time.monotonic() - self.started:6.1f} s  {text}", file=file)

    def wait_for(self, log: str, pattern: str, count: int = 1, seconds: float = 120) -> None:
        """Until the log has so many lines of the pattern."""
        deadline, path = time.monotonic() + seconds, self.folder / log
        while len(re.findall(pattern, path.read_text())) < count:
            assert time.monotonic() < deadline, f"no {pattern!r}:\n{path.read_text()[-6000:]}"
            time.sleep(0.1)
        self.say(f"{log}: {re.findall(pattern, path.read_text())[-1]}")


# the launcher of scripts/launch_common.sh, for a program that launch.sh doesn't know
LAUNCH = 'caller=$(pwd) root=$caller; . scripts/launch_common.sh; launch runs/console "$@"'


def test_a_machine_is_lost_and_comes_back(tmp_path):
    data, gate = make_scenes(tmp_path / "data", 25), tmp_path / "gate"
    argv = train_args(data, tmp_path / "out", *EQUAL, "--max_epoch", "2", "--global_batch", "4")
    gate.write_text("4")
    log = "train.1"
    with Machines(tmp_path) as machines:
        first, _ = (machines.start(number, "train", "-m", "tests.gated", str(gate), *argv) for number in (1, 2))
        machines.wait_for(log, "step 4/12 .*")
        machines.say("machine 2: killed")
        machines.kill(2)
        gate.write_text("8")
        machines.wait_for(log, "since that snapshot: .*")
        machines.wait_for(log, "step 8/12 .*")
        second = machines.start(2, "train", "-m", "tests.gated", str(gate), *argv)
        machines.wait_for(log, "since that snapshot: .*", count=2)
        gate.write_text("1000")
        assert [process.wait(120) for process in (first, second)] == [0, 0], (tmp_path / log).read_text()[-6000:]
        machines.wait_for(log, "final weights sha256: .*")
        out = tmp_path / "eval"
        command = ["eval.py", *eval_args(tmp_path / "out" / "run" / "best.pth", data, out)]
        both = [machines.start(number, "eval", *command) for number in (1, 2)]
        assert [process.wait(120) for process in both] == [0, 0], (tmp_path / "eval.1").read_text()[-6000:]
        machines.wait_for("eval.1", "12 images; scores are in .*")
    text = (tmp_path / log).read_text()
    changes = re.findall("since that snapshot: (.*)", text)
    assert changes == ["processes 2 -> 1, batches per step 1 -> 2", "processes 1 -> 2, batches per step 2 -> 1"]

    alone = launch(["train.py", *train_args(data, tmp_path / "alone", *EQUAL, "--max_epoch", "2", "--bs_mult", "4")])
    assert alone.returncode == 0, alone.stderr
    undisturbed, disturbed = (dict(re.findall(r"step (\d+)/12 loss ([\d.]+)", text)) for text in (alone.stdout, text))
    assert sorted(map(int, disturbed)) == list(range(1, STEPS + 1))
    for step, loss in undisturbed.items():
        assert float(disturbed[step]) == pytest.approx(float(loss), rel=1e-3), step
    scored = json.loads((tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert json.loads((out / "metrics.json").read_text())["mean_iou"] == scored["mean_iou"]
