"""A study's runs in their folders: `RUNS/KEY/` holds `train/` (of train.py) and the record of each scored split."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.training.build import check_run, open_splits
from engine.training.load import like_snapshot
from engine.training.lock import RunLock
from scripts.studies.keys import BY_KEY, data_digests, differences, precision_of, run_key
from scripts.studies.leavings import TrainedRun
from scripts.studies.programs import FINISHED, Clock, Ended, command_line, run_program
from scripts.studies.record import RunRecord, read_record, write_record
from scripts.studies.study_file import PlannedRun, Study
from utils.devices import choose_device
from utils.distributed import Process
from utils.errors import EnvironmentFault, OptionError
from utils.files import make_folder, read_json, write_json

POLL = 1.0  # seconds between looks at a run that another study makes


@dataclass(frozen=True)
class StudyRun:
    """A run in the folder of its key.

    Attributes:
        plan: What it is.
        folder: `RUNS/KEY`.
        data: Digests of `train`, `val` and the split that is scored, `scored`.
        split: Its name.
    """

    plan: PlannedRun
    folder: Path
    data: dict[str, str]
    split: str

    @property
    def path(self) -> Path:
        """Of the record."""
        return self.folder / f"{self.split}.json"

    @property
    def command(self) -> str:
        """What trains it."""
        return command_line("train.py", self._arguments())

    def _arguments(self) -> list[str]:
        place = [f"--ckpt={self.folder.parent}", f"--exp={self.folder.name}/train", "--resume=auto"]
        return [*self.plan.arguments, f"--seed={self.plan.seed}", "--no-report", *place]

    def finished(self) -> RunRecord | None:
        """The record; None: there is none yet, or the images that it is scored on have changed.

        Raises:
            DataError: It is damaged.
            OptionError: It, or the run in the folder, is of another study's options.
        """
        if self.path.exists():
            record = read_record(self.path)
            self._check(self.path, record.options)
            return record if record.data == self.data else None
        if (self.folder / "train" / "config.json").exists():
            self._check(self.folder / "train", TrainedRun.open(self.folder / "train").options)
        return None

    def _check(self, path: Path, found: Mapping) -> None:
        options = self.plan.options
        other = differences(options, {**found, **{name: options[name] for name in BY_KEY}})
        if found["seed"] != options["seed"]:
            other.append(f"seed {options['seed']}, there {found['seed']}")
        if other:
            raise OptionError(f"{path}: a run of another study's options: {other[0]}; choose another --runs_folder")

    def make(self, clock: Clock) -> None:
        """Train, score and record what isn't yet; whatever ends it, the next call resumes.

        Raises:
            OutOfTime: Before the end.
            ProgramFailed: train.py or eval.py did.
        """
        ended = run_program("train.py", self._arguments(), self.folder / "train.log", clock)
        memory = self._most_memory(ended)
        run = TrainedRun.open(self.folder / "train")
        write_record(self.path, run.record(run.evaluate(self.split, clock, anew=True), self.data, memory))

    def _most_memory(self, ended: Ended) -> int | None:
        """Bytes that the training held, of its processes that weren't stopped; None: others than a study's made it."""
        path = self.folder / "memory.json"
        known = read_json(path)["bytes"] if path.exists() else 0
        if FINISHED not in ended.output and ended.memory > known:
            known = ended.memory
            write_json(path, {"bytes": known})
        return known or None


def study_runs(study: Study, folder: Path, split: str) -> list[StudyRun]:
    """The runs of a study below a folder, by their keys; train.py wouldn't refuse one for its options.

    Raises:
        OptionError: There is no such split, or a variant has options that don't fit the data.
        DataError: The data isn't there, or not what it should be.
    """
    for name, plan in study.variants.items():
        new = dataclasses.replace(plan.config.run, ckpt=str(folder), exp="check")  # without a run that could resume
        try:
            config = like_snapshot(dataclasses.replace(plan.config.for_processes(1), run=new))
            check_run(config, open_splits(config), Process(0, 1, choose_device(config.compute.device)))
        except OptionError as error:
            raise OptionError(f"variant {name}: {error}") from error
    digests: dict[tuple, dict[str, str]] = {}
    runs = []
    for plan in study.runs():
        data = plan.config.data
        place = data.dataset, data.root, data.train_split, data.val_split, data.cv
        place += data.coarse_boost_classes, data.limit_images
        if place not in digests:
            digests[place] = data_digests(plan.config, split, folder)
        key = run_key(plan.options, digests[place], precision_of(plan.config))
        runs.append(StudyRun(plan, folder / key, digests[place], split))
    variants: dict[Path, str] = {}
    for run in runs:
        other = variants.setdefault(run.folder, run.plan.variant)
        if other != run.plan.variant:
            raise OptionError(f"variants {other} and {run.plan.variant} come to the same run here; leave one out")
    return runs


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a run's folder against other studies; False: one has it."""
    with RunLock(make_folder(folder, "--runs_folder")) as lock:
        try:
            lock.acquire()
        except EnvironmentFault:
            yield False
        else:
            yield True


def make_missing(runs: Sequence[StudyRun], clock: Clock, say: Callable[[StudyRun], None]) -> None:
    """Make every run that isn't finished; what another study makes is waited for, and taken over where that one dies.

    Raises:
        OutOfTime: Before the end.
        ProgramFailed: train.py or eval.py did.
    """
    waiting = [run for run in runs if run.finished() is None]
    while waiting:
        others = []
        for run in waiting:
            clock.check()
            with held(run.folder) as ours:
                if not ours:
                    others.append(run)
                elif run.finished() is None:
                    say(run)
                    run.make(clock)
        if waiting := [run for run in others if run.finished() is None]:
            time.sleep(POLL)
