"""`benchmark.py revisions --against REVISION`: steps of a recipe in this working tree beside those of another revision.

train.py runs by its command line in both trees with the same options and seed, so with the same crops, and once more
here with another seed. The three processes take turns of `TURN` steps; one that waits is stopped. `before` is the other
revision, `now` this tree, `other_seed` this tree too. A step is the time between two lines of the log, so all that a
user waits for: crops, loss, optimizer, averaging. Each turn's first step, and the first turn, don't count.

`losses` are those of each step. `max_error` is the relative difference of the first ones: equal weights and crops.
`curves`, for `now` and `other_seed` beside `before`: the mean absolute difference of the losses step by step, and that
of their means over the last quarter. The recipe's data set lies at --data_root, or as train.py finds it; without one
drawn scenes take its place.
"""

import argparse
import json
import shlex
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

import datasets
from config import parse_train
from datasets.options import find_root
from engine.training.build import create_model
from reference.network import make_plain
from scripts.benchmarks.other_tree import TrainingProcess, write_revision
from scripts.benchmarks.shares import RATES, Roofline, Work, count_operations
from scripts.benchmarks.timing import spread
from utils.errors import NumericsError
from utils.machine import ROOT

TURN = 10
RECIPE = "recipes/camvid_2cores.args"
MODEL = ("--arch", "fenet", "--channels", "64", "--dataset", "camvid")
TOLERANCE = 5e-3  # of the first loss, where bf16 is beside float32


def measure_revisions(options: argparse.Namespace) -> dict:
    """Train, compare, and return what goes into the JSON.

    Raises:
        OptionError: There is no such revision.
        NumericsError: The first losses differ, so that other crops or weights were compared.
    """
    given = train_options(options)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ended:
        trees = {"before": Path(folder) / "tree", "now": ROOT, "other_seed": ROOT}
        trees["before"].mkdir()
        revision = write_revision(options.against, trees["before"])
        runs = {}
        for name, tree in trees.items():
            own = [] if name == "before" else shlex.split(options.options_now)
            seed = ["--seed", "2" if name == "other_seed" else "1", "--ckpt", folder, "--exp", name]
            runs[name] = TrainingProcess(tree, [*given, *own, *seed], Path(folder) / f"{name}.txt")
            ended.callback(runs[name].end)
        for done in range(0, options.steps, TURN):
            for run in runs.values():
                run.advance(min(TURN, options.steps - done))
        amps = {name: json.loads((Path(folder) / name / "config.json").read_text())["amp"] for name in runs}
    losses = {name: run.losses for name, run in runs.items()}
    error = abs(losses["now"][0] / losses["before"][0] - 1)
    if not error <= (TOLERANCE if options.tolerance is None else options.tolerance):
        raise NumericsError(f"revisions: the first losses differ by {error}, relative: other crops or weights")
    arms = {name: summarise(run) for name, run in runs.items()}
    for row in arms.values():
        row["ratio"] = arms["before"]["median"] / row["median"]
    return {
        "ratio": arms["now"]["ratio"],
        "max_error": error,
        "arms": arms,
        "roofline": add_shares(arms, given, amps),
        "curves": {name: compare_curves(losses["before"], losses[name]) for name in ("now", "other_seed")},
        "losses": losses,
        "against": revision,
        "options": shlex.join(given),
        "options_now": options.options_now,
        "amps": amps,
        "rounds": options.steps // TURN,
    }


def train_options(options: argparse.Namespace) -> list[str]:
    """Of train.py, in both trees; later ones win."""
    lines = (ROOT / RECIPE).read_text().splitlines()
    words = [*MODEL, *(word for line in lines for word in shlex.split(line, comments=True))]
    root = find_root("camvid", options.data_root)
    words += ["--data_root", str(root.resolve())] if root.is_dir() else ["--dataset", "synthetic"]
    return [*words, "--log_every", "1", "--resume", "never", *shlex.split(options.options)]


def summarise(run: TrainingProcess) -> dict[str, float]:
    """Median and spread of the steps that count, in seconds."""
    turns = run.seconds[1:] if any(run.seconds[1:]) else run.seconds
    counted = [seconds for turn in turns for seconds in turn]
    return {"median": statistics.median(counted), "spread": spread(counted)}


def compare_curves(before: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """How far apart two runs' losses are: step by step, and at their end."""
    last = max(1, len(before) // 4)
    return {
        "mean_difference": statistics.mean(abs(a - b) for a, b in zip(before, other, strict=True)),
        "end_difference": abs(statistics.mean(before[-last:]) - statistics.mean(other[-last:])),
    }


def add_shares(arms: dict[str, dict], given: list[str], amps: dict[str, str]) -> dict:
    """`Roofline.add_shares`, by the multiply-adds of the model that the options name."""
    config = parse_train(given)
    classes = datasets.build_split(config.data.dataset, config.data.root, config.data.train_split).classes
    model = make_plain(create_model(config, classes.num_classes)).train()
    side = config.augment.crop_size
    images = torch.zeros(config.schedule.bs_mult, 3, *(side if isinstance(side, tuple) else (side, side)))

    def step() -> None:
        outputs = model(images).values()
        heads = [head for output in outputs for head in (output if isinstance(output, list) else [output])]
        sum(head.sum() for head in heads if isinstance(head, Tensor)).backward()

    work = Work(count_operations(step))
    precisions = {name: RATES.get(amp, "float32") for name, amp in amps.items()}
    return Roofline().add_shares(arms, dict.fromkeys(arms, work), precisions)
