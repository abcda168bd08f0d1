"""The command of a receipt: lines of a shell, run without a shell."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from config import EvalOptions, parse_eval
from utils.errors import DataError, ProgramFailed

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("OUT", "DATA")  # an empty folder for what the command leaves, and the folder of the data set
ENTRY_POINTS = ("train.py", "eval.py")
_PLAIN = re.compile(r"[\w./:=,@%+ -]*")
_PLACE = re.compile(rf"\$({'|'.join(PLACES)})\b")


@dataclass(frozen=True)
class Step:
    """One program of a command: variables of its environment, `python` or `sh`, the script, its arguments."""

    variables: Mapping[str, str]
    program: str
    script: str
    arguments: tuple[str, ...]

    def filled(self, places: Mapping[str, Path]) -> "Step":
        """The same step with paths in the place of `$OUT` and `$DATA`."""

        def fill(text: str) -> str:
            return _PLACE.sub(lambda match: str(places[match[1]]), text)

        variables = {name: fill(value) for name, value in self.variables.items()}
        return replace(self, variables=variables, arguments=tuple(map(fill, self.arguments)))

    def in_precision(self, training: str | None, evaluation: str) -> "Step":
        """The same step, with `--amp` where it trains or evaluates and doesn't name one."""
        trains = self.script == "train.py" or self.script.startswith("scripts/train_")
        amp = training if trains else evaluation if self.script == "eval.py" else None
        if amp is None or any(_names_precision(word) for word in self.arguments):
            return self
        return replace(self, arguments=(*self.arguments, "--amp", amp))

    def run(self) -> None:
        """Run it in the repository's root, its output on the terminal. Raises `ProgramFailed`."""
        argv = [sys.executable if self.program == "python" else "sh", self.script, *self.arguments]
        print("+", shlex.join([*(f"{name}={value}" for name, value in self.variables.items()), *argv]), flush=True)
        environment = os.environ | {"PYTHON": sys.executable} | self.variables
        code = subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode
        if code:
            raise ProgramFailed(f"{self.script}: ended with exit code {code}; its last lines say why", code)


@dataclass(frozen=True)
class Command:
    """Steps, the last of which is an evaluation."""

    steps: tuple[Step, ...]

    @property
    def evaluation(self) -> EvalOptions:
        """The options of the last step; its paths may begin with `$OUT` and `$DATA`."""
        return parse_eval(self.steps[-1].arguments)[0]

    def in_precision(self, training: str | None, evaluation: str) -> "Command":
        """The same command with these `--amp` for the steps that leave it open, whose `auto` is each machine's own.

        Args:
            training: None: training stays open, as `auto` may validate in another precision than it trains in.
            evaluation: Of eval.py.
        """
        return Command(tuple(step.in_precision(training, evaluation) for step in self.steps))

    def run(self, places: Mapping[str, Path]) -> None:
        """Run all steps. Raises `ProgramFailed`."""
        for step in self.steps:
            step.filled(places).run()

    def evaluate(self, places: Mapping[str, Path], snapshot: Path) -> None:
        """Run only the last step, on another snapshot. Raises `ProgramFailed`."""
        last = self.steps[-1].filled(places)
        replace(last, arguments=(*last.arguments, "--snapshot", str(snapshot))).run()

    def left(self, places: Mapping[str, Path]) -> tuple[Path, Path]:
        """The snapshot that the last step scores, and the folder where it leaves the scores."""
        scored = parse_eval(self.steps[-1].filled(places).arguments)[0]
        return Path(scored.snapshot), Path(scored.save_dir) / scored.exp_name


def parse_command(text: str, name: str) -> Command:
    """A receipt's `command` -> steps: `[NAME=VALUE ...] python|sh SCRIPT [ARGUMENT ...]`, joined by `&&`.

    Args:
        text: Means the same in a shell where `OUT` and `DATA` are set.
        name: Receipt or flag, for errors.

    Raises:
        DataError: A script that isn't this repository's, a word that a shell would read otherwise, or no evaluation
            of something below `$OUT` at the end.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise DataError(f"{name}: command can't be read ({error}); mend its quotes") from error
    steps, part = [], []
    for word in [*words, "&&"]:
        if word == "&&":
            steps.append(_parse_step(part, name))
            part = []
        elif not _PLAIN.fullmatch(_PLACE.sub("", word)):
            raise DataError(f"{name}: command has the word {word}; write plain words, $OUT and $DATA, joined by &&")
        else:
            part.append(word)
    if steps[-1].script != "eval.py" or {"-h", "--help"} & {*steps[-1].arguments}:
        raise DataError(f"{name}: command ends with {steps[-1].script}; end it with python eval.py --snapshot ...")
    command = Command(tuple(steps))
    for flag in ("snapshot", "save_dir"):
        if not str(getattr(command.evaluation, flag)).startswith("$OUT/"):
            raise DataError(f"{name}: command evaluates another --{flag} than one below $OUT; write --{flag} $OUT/...")
    return command


def _parse_step(words: Sequence[str], name: str) -> Step:
    variables, rest = {}, list(words)
    while rest and re.match(r"[A-Z_]+=", rest[0]):
        key, _, variables[key] = rest.pop(0).partition("=")
    if len(rest) < 2 or not _is_ours(*rest[:2]):
        raise DataError(
            f"{name}: command starts {' '.join(rest[:2]) or 'nothing'}; it may start python train.py, python eval.py,"
            " python scripts/NAME.py and sh scripts/NAME.sh"
        )
    return Step(variables, rest[0], rest[1], tuple(rest[2:]))


def _names_precision(word: str) -> bool:
    return word.partition("=")[0] in ("--amp", "--fp16", "--precision")


def _is_ours(program: str, script: str) -> bool:
    suffix = {"python": "py", "sh": "sh"}.get(program)
    known = program == "python" and script in ENTRY_POINTS
    return (known or re.fullmatch(rf"scripts/\w+\.{suffix}", script) is not None) and (ROOT / script).is_file()
