"""`benchmark.py study-steps --study STUDY.json`: seconds of a training step of each variant, for studies of equal time.

train.py runs by each variant's options and the study's first seed, in processes that take turns of `TURN` steps; one
that waits is stopped. A step is the time between two lines of the log, so all that a user waits for: crops, loss,
optimizer, averaging. Each turn's first step, and the first turn, don't count. Validation is left out.

`ratio` is the reference's time over the variant's: by so much a variant's steps may be more in equal time. Also for
each: `parameters` and `giga_macs` of the model as it is evaluated, auxiliary heads left out, the latter for one image
of the size that the validation split has first.
"""

import argparse
import dataclasses
import tempfile
from contextlib import ExitStack
from pathlib import Path

import datasets
import network
from scripts.benchmarks.other_tree import TrainingProcess
from scripts.benchmarks.revisions import TURN, summarise
from scripts.model_table import giga_macs
from scripts.studies.study_file import PlannedRun, read_study
from utils.errors import OptionError
from utils.machine import ROOT

NEW = ("--log_every=1", "--resume=never", "--val_every=1000000")


def measure_study_steps(options: argparse.Namespace) -> dict:
    """Train, and return what goes into the JSON.

    Raises:
        OptionError: There is no study, or its options can't work.
    """
    if not options.study:
        raise OptionError("--study: name the STUDY.json whose variants are timed")
    study = read_study(Path(options.study))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ended:
        runs = {}
        for number, (name, plan) in enumerate(study.variants.items()):
            own = [f"--seed={plan.seed}", f"--ckpt={folder}", f"--exp={number}", *NEW]
            runs[name] = TrainingProcess(ROOT, [*plan.arguments, *own], Path(folder) / f"{number}.txt")
            ended.callback(runs[name].end)
        for done in range(0, options.steps, TURN):
            for run in runs.values():
                run.advance(min(TURN, options.steps - done))
    arms = {name: summarise(run) | facts(study.variants[name]) for name, run in runs.items()}
    reference = next(iter(arms.values()))["median"]
    for row in arms.values():
        row["ratio"] = reference / row["median"]
    return {"arms": arms, "study": options.study, "rounds": options.steps // TURN}


def facts(plan: PlannedRun) -> dict[str, float]:
    """`parameters` and `giga_macs` of a variant's model."""
    data = plan.config.data
    split = datasets.build_split(data.dataset, data.root, data.val_split, data.cv)
    chosen = dataclasses.replace(plan.config.model, aux=False)
    model = network.build_model(chosen.name, split.classes.num_classes, **chosen.build_options()).eval()
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "giga_macs": giga_macs(model, split.image_size(0)),
    }
