"""A run on this machine within some hours: look at the data, time the run, choose, say what to do next."""

import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from config import TrainConfig, parse_train
from engine.training.build import check_run, open_splits
from engine.training.checks import check_data, data_plan, log_findings
from engine.training.load import like_snapshot
from engine.training.memory import StepMemory, build_step_memory
from engine.training.start import Splits, open_indexes
from scripts.configuring.choices import Choice, as_options
from scripts.configuring.facts import DataFacts, take_facts
from scripts.configuring.length import Speed
from scripts.configuring.machine import Machine, look_around
from scripts.configuring.search import Found, configure
from scripts.configuring.timing import Data, measure
from utils.distributed import Process
from utils.options_file import as_arguments

TIMED, MOST_TIMED = 1 / 20, 60  # of the hours, and seconds at most, in which steps are measured
AVERAGED = {"ema": 0.99}  # the run averages its weights, which takes time and memory whatever the decay


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        own: `dataset` and `data_root`.
        hours: For the whole training.
        arch: Model; None: any.
        gpu_memory: GiB of the GPU that may be used; None: all.
        imports: Seconds that a program takes to load.
    """

    own: dict
    hours: float
    arch: str | None = None
    gpu_memory: float | None = None
    imports: float = 0.0


@dataclass
class Rehearsal:
    """Measures runs in a folder, one after the other."""

    wish: Wish
    data: Data
    process: Process
    folder: Path
    runs: int = field(default=0, init=False)

    def speed_of(self, options: dict) -> Speed:
        """Of a run with these options."""
        self.runs += 1
        place = {"ckpt": str(self.folder), "exp": str(self.runs)}
        config = config_of({**self.wish.own, **AVERAGED, **options, **place})
        seconds = min(MOST_TIMED, TIMED * 3600 * self.wish.hours)
        return measure(config, self.data, self.process, seconds, self.wish.imports)

    def memory_of(self, options: dict) -> StepMemory:
        """Of a step with the optimizer and average that the rules choose."""
        config = config_of({**self.wish.own, **AVERAGED, "optimizer": "adamw", **options})
        return build_step_memory(config, self.data.splits.train.classes.num_classes)


@dataclass(frozen=True)
class Outcome:
    """The configuration, and what it was made from."""

    choices: list[Choice]
    found: Found
    facts: DataFacts
    machine: Machine

    def reasons(self) -> dict:
        """Plain data for the file beside the options."""
        length, speed = self.found.length, self.found.speed
        return {
            "data": asdict(self.facts),
            "machine": asdict(self.machine) | {"threads": torch.get_num_threads()},
            "speed": asdict(speed),
            "expected": {"seconds": length.seconds(speed), "steps": length.steps, "validations": length.validations},
            "options": [asdict(choice) for choice in self.choices],
        }


def configure_here(wish: Wish, process: Process, make_folder: Callable[[], Path], name: str) -> Outcome:
    """The configuration for this machine.

    Args:
        wish: What is asked for.
        process: With the device that is timed.
        make_folder: Called once the splits are there; temporary files go below that folder.
        name: Of the run.

    Raises:
        DataError: The data can't be trained on.
        OptionError: The hours have no room for an epoch.
    """
    torch.backends.cudnn.benchmark = True
    config = config_of(wish.own)
    splits = open_splits(config)
    check_run(config, splits, process)
    with tempfile.TemporaryDirectory(prefix=".configure_", dir=make_folder()) as place:
        data = look_at(config, splits, Path(place))
        facts, machine = take_facts(splits, data.indexes), look_around(process.device, wish.gpu_memory)
        rehearsal = Rehearsal(wish, data, process, Path(place))
        found = configure(facts, machine, wish.hours, rehearsal.speed_of, rehearsal.memory_of, wish.arch)
    given = [Choice(key, value, "as given") for key, value in wish.own.items()]
    exp = Choice("exp", name, "the file's name; results go to <ckpt>/<exp>")
    return Outcome([*given, exp, *found.choices], found, facts, machine)


def look_at(config: TrainConfig, splits: Splits, folder: Path) -> Data:
    """What the files hold, as train.py reads them. Raises `DataError` for data that can't be trained on."""
    start = time.perf_counter()
    indexes = open_indexes(splits, folder)
    images = splits.train.epoch_length
    plan = data_plan(config.data, config.augment, config.schedule, config.validation, images)
    log_findings(check_data(splits, indexes, plan, ("Files", "Labels")))  # the crop isn't chosen yet
    return Data(splits, indexes, time.perf_counter() - start)


def next_commands(outcome: Outcome, out: str, hours: float) -> Sequence[str]:
    """What the run takes, and how to start and score it."""
    found, options = outcome.found, as_options(outcome.choices)
    minutes, name = found.length.seconds(found.speed) / 60, shlex.quote(options["exp"])
    return (
        f"about {minutes:.1f} of {60 * hours:.1f} minutes with {torch.get_num_threads()} threads, if the machine stays"
        f" as busy as while {found.speed.steps} steps were timed",
        f"python train.py --options_from {shlex.quote(out)}",
        f"python eval.py --snapshot logs/ckpt/{name}/best.pth --base_size {found.inference_size}"
        f" --data_root {shlex.quote(options['data_root'])} --split val --save_dir results/{name}",
    )


def config_of(options: dict) -> TrainConfig:
    """What train.py makes of options."""
    return like_snapshot(parse_train(as_arguments(options)))
