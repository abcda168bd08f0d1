"""Tasks of `srun` without torchrun; SLURM's variables are pretended."""

import os

import pytest

import train
from engine.checkpoint.snapshot import load_snapshot
from tests.conftest import make_scenes, train_args
from tests.processes import launch
from utils.slurm import NAMES, join_tasks

TASK = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
TASK |= {"SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "123456"}


@pytest.mark.parametrize(
    ("nodes", "first"), [("gpu[07-08]", "gpu07"), ("a-1,a-2", "a-1"), ("n[3,5]-ib,m", "n3-ib"), ("one", "one")]
)
def test_tasks_are_the_processes_of_a_job(nodes, first):
    environment = TASK | {"SLURM_STEP_NODELIST": nodes}
    join_tasks(environment)
    found = {name: environment[name] for name in (*NAMES, "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    place = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "GROUP_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert found == place | {"MASTER_ADDR": first, "MASTER_PORT": "23456"}


@pytest.mark.parametrize("more", [{"WORLD_SIZE": "16"}, {"SLURM_STEP_NUM_TASKS": "1"}, {"SLURM_PTY_PORT": "40000"}])
def test_torchrun_s_processes_single_tasks_and_shells_stay_as_they_are(more):
    environment = TASK | more
    join_tasks(environment)
    assert environment == TASK | more
    outside: dict[str, str] = {}
    join_tasks(outside)
    assert not outside


def train_as_a_task(port: str, *argv: str) -> int:
    """What torchrun's variables say, in SLURM's."""
    for ours, theirs in NAMES.items():
        os.environ[theirs] = os.environ.pop(ours)
    for name in [name for name in os.environ if name.startswith(("TORCHELASTIC", "MASTER"))]:
        del os.environ[name]
    os.environ |= {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": port}
    return train.main(argv)


@pytest.mark.slow
def test_two_tasks_train_together(tmp_path):
    data = make_scenes(tmp_path / "data", 9)
    argv = train_args(data, tmp_path, "--max_steps", "1")
    done = launch([train_as_a_task, str(os.getpid() % 10000), *argv], processes=2)
    assert done.returncodes == [0, 0], done.stderr
    assert load_snapshot(tmp_path / "run" / "last.pth")["training"]["settings"]["processes"] == "2"
