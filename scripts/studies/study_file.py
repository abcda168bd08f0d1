"""STUDY.json: read, and checked in full before anything runs."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from config import TrainConfig, parse_train, train_parser
from scripts.studies.keys import deciding, differences, plain_options
from utils.errors import OptionError
from utils.options_file import as_arguments

FORM = '{"base": {option: value}, "variants": {name: {option: value}}, "seeds": [1, 2, 3]}'
OWN = ("seed", "exp", "ckpt", "tb_path", "tb_tag", "resume", "resume_override", "options_from", "evaluateF", "debug")


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study asks for."""

    variant: str
    seed: int
    arguments: tuple[str, ...]  # of train.py, but for the folder
    config: TrainConfig


@dataclass(frozen=True)
class Study:
    """Variants, the first of which is the reference, and seeds."""

    variants: Mapping[str, Mapping]  # name -> options, those of the base included
    seeds: tuple[int, ...]

    def runs(self) -> list[PlannedRun]:
        """All of them, seed by seed, so that a study which was stopped has equally many of each variant."""
        return [planned(name, self.variants[name], seed) for seed in self.seeds for name in self.variants]

    def options(self, name: str) -> dict:
        """All options of a variant, with the first seed."""
        return plain_options(planned(name, self.variants[name], self.seeds[0]).config)


def planned(name: str, options: Mapping, seed: int) -> PlannedRun:
    """The run of a variant with a seed. Raises `OptionError` for options that can't work."""
    arguments = (*as_arguments(options), f"--seed={seed}")
    return PlannedRun(name, seed, arguments, parse_train(arguments))


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
    for name, options in {"base": base, **variants}.items():
        if not isinstance(options, dict):
            raise OptionError(f"{path}: {name} is no object of options and values; write {FORM}")
    study = Study({name: base | options for name, options in variants.items()}, _seeds(path, text.get("seeds")))
    _check_options(path, study)
    return study


def _no_repeats(pairs: list[tuple]) -> dict:
    names = [name for name, _ in pairs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(repeated))} stands there twice")
    return dict(pairs)


def _seeds(path: Path, seeds: object) -> tuple[int, ...]:
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise OptionError(f"{path}: seeds {json.dumps(seeds)}: a list of different whole numbers, such as [1, 2, 3]")
    if len(seeds) < 2:
        raise OptionError(
            f"{path}: seeds {json.dumps(seeds)}: there is no interval without the spread over seeds; name two or more,"
            " or put a finished run on a page with --runs"
        )
    return tuple(seeds)


def _check_options(path: Path, study: Study) -> None:
    names = {action.dest for action in train_parser()._actions} | set(_spellings())
    seen: dict[str, str] = {}
    for name, options in study.variants.items():
        for option in options:
            if option in OWN:
                raise OptionError(f"{path}: variant {name}: {option}: the study sets it itself; leave it out")
            if option not in names:
                near = difflib.get_close_matches(option, names, 1)
                meant = f"; did you mean {near[0]}?" if near else "; see train.py --help"
                raise OptionError(f"{path}: variant {name}: {option}: no option of train.py{meant}")
        try:
            config = planned(name, options, study.seeds[0]).config
        except OptionError as error:
            raise OptionError(f"{path}: variant {name}: {error}") from error
        what = json.dumps(deciding(plain_options(config)))
        if what in seen:
            raise OptionError(f"{path}: variants {seen[what]} and {name} have the same options; leave one out")
        seen[what] = name


def _spellings() -> Iterator[str]:
    for action in train_parser()._actions:
        yield from (flag.lstrip("-") for flag in action.option_strings if flag.startswith("--"))


def variant_of(study: Study, options: Mapping) -> str | None:
    """The variant that a run with these options is of; None: of another study."""
    return next((name for name in study.variants if not differences(study.options(name), options)), None)
