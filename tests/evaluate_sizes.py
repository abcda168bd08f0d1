"""Run under torchrun by test_eval_processes.py: evaluates several data sets, so that the processes start only once."""

import sys
from pathlib import Path

import torch

from config import parse_eval
from eval import evaluate_snapshot
from utils import distributed
from utils.files import make_folder


def evaluate_sizes(snapshot: str, data: str, out: str, workers: str) -> None:
    """Evaluate the data sets `data/<number>` and leave the results in `out/<number>`."""
    torch.set_num_threads(1)
    with distributed.job("cpu") as process:
        for folder in sorted(Path(data).iterdir()):
            argv = ["--snapshot", snapshot, "--data_root", str(folder), "--save_dir", str(Path(out) / folder.name)]
            options, _ = parse_eval([*argv, "--boundary", "--num_workers", workers])
            evaluate_snapshot(options, process, make_folder(options.save_dir, "--save_dir"))


if __name__ == "__main__":
    evaluate_sizes(*sys.argv[1:])
