"""STUDY.json: read, and checked in full before anything runs."""

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from config import TrainConfig, parse_train, train_parser
from scripts.studies.keys import deciding, plain_options
from utils.errors import OptionError
from utils.options_file import as_arguments

FORM = '{"base": {option: value}, "variants": {name: {option: value}}, "seeds": [1, 2, 3]}'
OWN = ("seed", "exp", "ckpt", "tb_path", "tb_tag", "resume", "resume_override", "options_from", "evaluateF", "debug")


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study asks for.

    Attributes:
        variant: Its name.
        seed: Of the run.
        arguments: Of train.py, but for seed and folder.
        config: What these arguments mean.
    """

    variant: str
    seed: int
    arguments: tuple[str, ...]
    config: TrainConfig

    @property
    def options(self) -> dict:
        """All of them, as JSON has them."""
        return plain_options(self.config) | {"seed": self.seed}


@dataclass(frozen=True)
class Study:
    """Variants, the first of which is the reference, and seeds."""

    variants: Mapping[str, PlannedRun]  # with the first seed
    seeds: tuple[int, ...]

    def runs(self) -> list[PlannedRun]:
        """All of them, seed by seed, so that a study which was stopped has equally many of each variant."""
        return [dataclasses.replace(run, seed=seed) for seed in self.seeds for run in self.variants.values()]


def read_study(path: Path) -> Study:
    """A study whose options train.py takes.

    Raises:
        OptionError: It can't be read, or something in it can't work; the message names it.
    """
    try:
        text = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_repeats)
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"{path}: cannot be read as JSON ({error}); write {FORM}") from error
    if not isinstance(text, dict) or not set(text) <= {"base", "variants", "seeds"}:
        odd = sorted(set(text) - {"base", "variants", "seeds"}) if isinstance(text, dict) else ["no object"]
        raise OptionError(f"{path}: holds {', '.join(odd)}; write {FORM}")
    base, variants = text.get("base", {}), text.get("variants")
    if not isinstance(variants, dict) or not variants:
        raise OptionError(f"{path}: variants names none; write {FORM}, the reference first")
    for name, options in (("base", base), *variants.items()):
        if not isinstance(options, dict):
            raise OptionError(f"{path}: {name} is no object of options and values; write {FORM}")
    seeds = _seeds(path, text.get("seeds"))
    runs = {name: _planned(path, name, base | options, seeds[0]) for name, options in variants.items()}
    seen: dict[str, str] = {}
    for name, run in runs.items():
        what = json.dumps(deciding(run.options))
        if what in seen:
            raise OptionError(f"{path}: variants {seen[what]} and {name} have the same options; leave one out")
        seen[what] = name
    return Study(runs, seeds)


def _no_repeats(pairs: list[tuple]) -> dict:
    names = [name for name, _ in pairs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(repeated))} stands there twice")
    return dict(pairs)


def _seeds(path: Path, seeds: object) -> tuple[int, ...]:
    fits = isinstance(seeds, list) and all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
    if not fits or len(set(seeds)) < len(seeds):
        raise OptionError(f"{path}: seeds {json.dumps(seeds)}: a list of different whole numbers, such as [1, 2, 3]")
    if len(seeds) < 2:
        raise OptionError(
            f"{path}: seeds {json.dumps(seeds)}: there is no interval without the spread over seeds; name two or more,"
            " or put a finished run on a page with --runs"
        )
    return tuple(seeds)


def _planned(path: Path, name: str, options: Mapping, seed: int) -> PlannedRun:
    """The run of a variant. Raises `OptionError` for options that there aren't, or that can't work."""
    known = set(_spellings())
    for option, value in options.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, (str, int, float, type(None))) for one in values):
            raise OptionError(f"{path}: variant {name}: {option}: a text, number, true, false, or a list of them")
        if option in OWN:
            raise OptionError(f"{path}: variant {name}: {option}: the study sets it itself; leave it out")
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            meant = f"did you mean {near[0]}?" if near else "see train.py --help"
            raise OptionError(f"{path}: variant {name}: {option}: no option of train.py; {meant}")
    arguments = tuple(as_arguments(options))
    try:
        return PlannedRun(name, seed, arguments, parse_train(arguments))
    except OptionError as error:
        raise OptionError(f"{path}: variant {name}: {error}") from error


def _spellings() -> Iterator[str]:
    for action in train_parser()._actions:
        yield from (flag.lstrip("-") for flag in action.option_strings if flag.startswith("--") and flag != "--help")
