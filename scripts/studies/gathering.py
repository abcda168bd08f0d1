"""Runs that are there already, put on a page: `study.py --runs`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.studies.keys import deciding, default_options, differences
from scripts.studies.leavings import TrainedRun
from scripts.studies.programs import Clock
from scripts.studies.record import RunRecord, read_record
from scripts.studies.study_file import Study
from utils.errors import OptionError

SPLIT = "val"  # that a run's folder is scored on, where nothing says otherwise


def gather(paths: Sequence[Path], split: str | None, clock: Clock) -> list[RunRecord]:
    """The records of runs.

    Args:
        paths: Of records, of the folders of a study's runs (`RUNS/KEY`), or of train.py's folders, which are scored
            here unless they have been.
        split: What folders are scored on.
        clock: When to stop.

    Raises:
        DataError: One isn't of a run.
        OptionError: There is no such file, or its record is of another split.
        OutOfTime: Before the end.
    """
    for path in paths if split else ():  # before anything is scored
        if path.is_file() and (known := read_record(path).split) != split:
            raise OptionError(f"--runs {path}: was scored on {known}, not on --split {split}; leave one out")
    return [_record(path, split or SPLIT, clock) for path in paths]


def _record(path: Path, split: str, clock: Clock) -> RunRecord:
    if not path.exists():
        raise OptionError(f"--runs {path}: no such file or folder; name runs of train.py, or records of a study")
    if path.is_file():
        return read_record(path)
    if (path / f"{split}.json").exists():
        return read_record(path / f"{split}.json")
    run = TrainedRun.open(path / "train" if (path / "train").is_dir() else path)
    return run.record(run.evaluate(split, clock), {}, None)


def by_variant(study: Study, paths: Sequence[Path], records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """The runs of each variant of a study, by seed.

    Raises:
        OptionError: A run is of another study's options, of another seed, or there twice.
    """
    found: dict[str, list[RunRecord]] = {name: [] for name in study.variants}
    asked = {name: run.options for name, run in study.variants.items()}
    for path, record in zip(paths, records, strict=True):
        rows = {name: differences(_settled(options, record), _options(record)) for name, options in asked.items()}
        name = min(rows, key=lambda one: len(rows[one]))
        if rows[name]:
            other = "; ".join(rows[name][:3])
            raise OptionError(f"--runs {path}: a run of another study's options: not {name}'s {other}; leave it out")
        if record.seed not in study.seeds:
            seeds = ", ".join(map(str, study.seeds))
            raise OptionError(f"--runs {path}: seed {record.seed} isn't one of the study's ({seeds}); leave it out")
        found[name].append(record)
    return _by_seed(found)


def by_options(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs with the same options apart from the seed, by what sets these apart from the first run's."""
    groups: list[list[RunRecord]] = []
    for record in records:
        for group in groups:
            if not differences(_options(group[0]), _options(record)):
                group.append(record)
                break
        else:
            groups.append([record])
    options = [default_options() | deciding(_options(group[0])) for group in groups]
    names = [name for name in options[0] if any(other.get(name) != options[0][name] for other in options)]
    titles = [_title(names, options[0])]
    titles += [_title([name for name in names if one.get(name) != options[0][name]], one) for one in options[1:]]
    return _by_seed(dict(zip(titles, groups, strict=True)))


def _options(record: RunRecord) -> dict:
    """Those that it was trained with, the precision as it was."""
    return record.options | {"amp": record.precision}


def _settled(options: Mapping, record: RunRecord) -> dict:
    """Options of a study, whose `auto` is what a run took it for."""
    return {**options, "amp": record.precision} if options["amp"] == "auto" else dict(options)


def _title(names: Sequence[str], options: Mapping) -> str:
    """`arch fenet, lr 0.01`."""
    values = ((name, options.get(name)) for name in names)
    shown = [f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in values]
    return ", ".join(shown) or "all runs"


def _by_seed(variants: Mapping[str, list[RunRecord]]) -> dict[str, list[RunRecord]]:
    for name, records in variants.items():
        seeds = [record.seed for record in records]
        if twice := {seed for seed in seeds if seeds.count(seed) > 1}:
            raise OptionError(f"--runs: {name}: seed {min(twice)} is there twice; leave one of the runs out")
    return {name: sorted(records, key=lambda record: record.seed) for name, records in variants.items()}
