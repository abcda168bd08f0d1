"""Processes that SLURM's `srun` starts by itself: its variables, under the names that torchrun gives them."""

import os
import re
from collections.abc import MutableMapping

NAMES = {
    "RANK": "SLURM_PROCID",
    "WORLD_SIZE": "SLURM_STEP_NUM_TASKS",
    "LOCAL_RANK": "SLURM_LOCALID",
    "GROUP_RANK": "SLURM_NODEID",
}


def join_tasks(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the tasks of a step be the processes of one job, unless torchrun runs in them, or a person's shell does.

    They meet at the first node, at a port that follows from the job's number.
    """
    alone = environment.get("SLURM_STEP_NUM_TASKS", "1") == "1" or "SLURM_PTY_PORT" in environment
    if alone or "WORLD_SIZE" in environment:
        return
    environment.update({ours: environment[theirs] for ours, theirs in NAMES.items()})
    per_node = re.match(r"\d+", environment["SLURM_STEP_TASKS_PER_NODE"])  # such as 4(x2),3
    name, number, rest = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", environment["SLURM_STEP_NODELIST"]).groups()
    environment["LOCAL_WORLD_SIZE"] = per_node[0]
    environment.setdefault("MASTER_ADDR", f"{name}{number or ''}{rest or ''}")
    environment.setdefault("MASTER_PORT", str(20000 + int(environment["SLURM_JOB_ID"]) % 10000))
