"""Processes that are killed, and jobs that are put back into a queue, end in the weights of an undisturbed run.

`python -m tests.test_restarts MARKER [OPTION of train.py...]` kills rank 2 before its fourth step unless MARKER exists.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import train
from engine.training.trainer import Trainer
from tests.conftest import make_scenes, train_args
from tests.processes import ROOT, launch, torchrun

pytestmark = pytest.mark.slow


def train_with_a_kill(marker: Path, argv: list[str]) -> int:
    """See the module."""
    free_step = Trainer.step

    def step(self, batches):
        if self.state.step == 3 and self.process.rank == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return free_step(self, batches)

    Trainer.step = step
    return train.main(argv)


def digest(text: str) -> str:
    return re.findall("final weights sha256: (.*)", text)[-1]


def test_one_of_four_is_killed_and_started_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # as scripts/launch_common.sh does
    data, marker = make_scenes(tmp_path / "data", 33), tmp_path / "marker"
    argv = ["--max_steps", "5", "--save_every", "2", "--class_uniform_pct", "0", "--no-aux"]
    whole = launch(["train.py", *train_args(data, tmp_path / "a", *argv)], processes=4)
    command = ["-m", "tests.test_restarts", str(marker), *train_args(data, tmp_path / "b", *argv)]
    killed = torchrun(command, 4, "--max_restarts=1")
    assert whole.returncode == killed.returncode == 0, whole.stderr + killed.stderr
    assert marker.exists()
    assert "resuming at step 2 from" in killed.stdout
    assert digest(killed.stdout) == digest(whole.stdout)


SRUN = """#!/bin/sh
while :; do case $1 in --*) shift ;; *) exec "$@" ;; esac; done
"""
SCONTROL = """#!/bin/sh
case $1 in
show) echo localhost ;;
*) echo "$@" >>"$RECORD" ;;
esac
"""
SBATCH = """#!/bin/sh
# runs a copy, as SLURM does
cp "$1" "$SPOOL/slurm_script" && shift && exec sh "$SPOOL/slurm_script" "$@"
"""


class Queue:
    """SLURM's commands, as far as scripts/slurm/train.sbatch needs them."""

    def __init__(self, folder: Path) -> None:
        self.record, self.log = folder / "record", folder / "log"
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("sbatch", SBATCH)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.env = {"PATH": f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)}
        self.env |= {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "localhost"}
        self.env |= {"SLURM_JOB_NUM_NODES": "1", "NGPU": "1", "OMP_NUM_THREADS": "1"}
        self.env |= {"RECORD": str(self.record), "SPOOL": str(folder)}

    def submit(self, *argv: str, warn_at: str | None = None, number: int = signal.SIGUSR1) -> tuple[int, str]:
        """Run a job, send a signal once its output has the line `warn_at`; returns status and output."""
        command = ["sbatch", "scripts/slurm/train.sbatch", "scripts/launch.sh", "train.py", *argv]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env=self.env, **options) as job:
            lines = []
            for line in job.stdout:
                lines.append(line)
                if warn_at is not None and warn_at in line:
                    job.send_signal(number)
                    warn_at = None
            return job.wait(60), "".join(lines)


def test_a_job_at_its_time_limit_goes_back_into_the_queue(tmp_path):
    queue, data = Queue(tmp_path), make_scenes(tmp_path / "data", 9)
    argv = train_args(data, tmp_path / "a", "--max_epoch", "500", "--eval_epoch", "499", "--class_uniform_pct", "0")
    status, text = queue.submit(*argv, warn_at=" step 2/")
    assert status != 0 and queue.record.read_text() == "requeue 7\n", text
    step = int(re.search(r"stopped at step (\d+), saved", text).group(1))
    argv += ["--max_steps", str(step + 2)]
    status, text = queue.submit(*argv)
    assert status == 0 and queue.record.read_text() == "requeue 7\n", text  # not again: it is done
    assert f"resuming at step {step} from" in text
    whole = launch(["train.py", *argv, "--ckpt", str(tmp_path / "b")])
    assert digest(text) == digest(whole.stdout)


def test_a_job_that_fails_stays_out_of_the_queue(tmp_path):
    queue = Queue(tmp_path)
    status, text = queue.submit(*train_args(make_scenes(tmp_path / "data", 2), tmp_path, "--bs_mult", "50"))
    assert status != 0 and "--bs_mult" in text and not queue.record.exists()


if __name__ == "__main__":
    sys.exit(train_with_a_kill(Path(sys.argv[1]), sys.argv[2:]))
