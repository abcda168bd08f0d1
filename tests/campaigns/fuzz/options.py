"""Random command lines for every program: odd values, unknown flags, contradictions, hostile strings."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns.fuzz.guard import Guard, call, judge
from tests.campaigns.fuzz.images import NAMES
from tests.campaigns.fuzz.mutations import Rng
from tests.campaigns.fuzz.world import World
from tests.entry_points import programs
from utils.options import Parser

ENDED = (2, 3, 4, 5, 6)  # allowed besides 0
CHECKLISTS = ("doctor",)  # say what is wrong with data or snapshot in lines of their own
# a great number is a long run or a great image there, which is what was asked for
LONG = {
    *("max_epoch", "max_steps", "bootstrap", "rounds", "warmup", "train", "val", "test", "height", "width", "size"),
    *(
        "batch",
        "steps",
        "crop_size",
        "channels",
        "filter_kernel",
        "max_pixels",
        "count",
        "columns",
        "max_frames",
        "sample",
    ),
}
UNTRIED = ("help", "debug", "execute", "compile")  # the last but one starts programs, the last is slow by nature
FREE_FOLDERS = {"save_dir", "ckpt_path", "ckpt", "tb_path", "out", "json", "submission", "manifest_file"}  # the user's
NUMBERS = ("-1", "0", "1", "2", "3", "7", "0.5", "-0.0", "1e-300", "1e300", "1e309", "nan", "inf", "-inf", "1000000")
GREAT = ("2147483648", "9223372036854775808", "1" + "0" * 30, "9" * 5000)
TEXTS = (
    "",
    " ",
    "x",
    "None",
    "True",
    "0x10",
    "1_000",
    "1,2,,3",
    "1,2",
    "a,b",
    ",",
    "-",
    "--",
    "@x",
    "auto",
    "../../up",
)


# what made the scores of the world, as a receipt says it
EVAL = (
    "python eval.py --snapshot $OUT/runs/run/best.pth --data_root $DATA --save_dir $OUT/scores --dump_images"
    " --device cpu"
)


class _Seen(Exception):
    """Carries a program's parser out of it."""


def parser_of(main: Callable) -> argparse.ArgumentParser:
    """The parser that a program makes."""

    def stop(self: Parser, *_: object) -> None:
        raise _Seen(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_known_args", stop)  # which parse_args calls
        patch.setattr("utils.cli.as_fault", _reraise)
        try:
            main([])
        except _Seen as seen:
            return seen.args[0]
    raise AssertionError("this program has no parser of utils.options")


def _reraise(error: BaseException) -> None:
    raise error


def value(action: argparse.Action, world: World, rng: Rng) -> str:
    """One argument for an option, mostly a wrong one."""
    names = {text.lstrip("-") for text in action.option_strings} | {action.dest}
    numbers = NUMBERS[: 8 if names & LONG else None] + (() if names & LONG else GREAT)
    dice = rng.random()
    if action.choices and dice < 0.5:
        return str(rng.choice([str(choice) for choice in action.choices]))
    if dice < 0.6 and (action.type is not None or dice < 0.2):
        return numbers[rng.integers(len(numbers))]
    texts = [*TEXTS, *(name.decode("utf-8", "surrogateescape") for name in NAMES), "/dev/null", "x" * 5000]
    files = [world.data, world.best, world.last, world.handout, world.release, world.data / "classes.json", "/proc/1/x"]
    if names & FREE_FOLDERS:  # a run may write where it is told to, so it is told nothing of value
        texts.remove("../../up")
        files = ["file", "file/x", "/proc/1/x", "/dev/full/x"]
    return str((texts + files)[rng.integers(len(texts) + len(files))])


def some_options(parser: argparse.ArgumentParser, world: World, rng: Rng) -> list[str]:
    """One to four options of the parser, with too few, too many or odd values."""
    given: list[str] = []
    actions = [action for action in parser._actions if action.option_strings and action.dest not in UNTRIED]
    for _ in range(rng.integers(1, 5)):
        action = actions[rng.integers(len(actions))]
        given.append(action.option_strings[rng.integers(len(action.option_strings))])
        takes = 0 if action.nargs == 0 else 1
        if rng.random() < 0.03:
            takes = 1 - takes
        given += [value(action, world, rng) for _ in range(takes)]
    if rng.random() < 0.05:
        given.insert(int(rng.integers(len(given) + 1)), str(rng.choice(["--unknown", "-x", "--lr=", "surplus", "--"])))
    return given


def base(name: str, world: World, out: Path) -> list:
    """A command line of each program that works and is soon done."""
    scores = world.scores
    lines = {
        "train": [*world.train_args(world.data, out), "--max_steps", "2"],
        "eval": ["--snapshot", world.best, "--data_root", world.data, "--save_dir", out, "--device", "cpu"],
        "demo_folder": ["--source", world.data / "images" / "val", "--snapshot", world.best, "--save_dir", out],
        "export": ["--snapshot", world.best, "--out", out],
        "compare": [scores, scores, "--bootstrap", "20"],
        "check_submission": [world.data / "masks" / "val", "--dataset", "folder", "--data_root", world.data],
        "import_labels": ["--format", "coco", "--labels", world.polygons, "--images", world.data / "images" / "train"],
        "make_receipt": ["r", "--out_folder", scores.parent, "--dataset", "folder", "--data_root", world.data],
        "make_synthetic": [out, "--train", "1", "--val", "0", "--test", "0", "--height", "64", "--width", "64"],
        "benchmark": ["hpf", "--json", out / "b.json", "--size", "32,32", "--rounds", "1", "--warmup", "0"],
        "doctor": ["--dataset", "folder", "--data_root", world.data, "--arch", "fenet_tiny", "--no_rehearsal"],
        "model_table": ["--arch", "fenet_tiny", "--size", "32,32", "--crop", "32", "--rounds", "1", "--warmup", "0"],
        "profile_step": ["--json", out / "p.json", "--arch", "fenet_tiny", "--size", "64,64", "--steps", "1"],
        "configure": ["--gpus", "1", "--memory", "24", "--arch", "fenet_tiny", "--dataset", "folder"],
        "plan": ["--gpus", "1", "--memory", "24", "--arch", "fenet_tiny"],
        "show_samples": ["--dataset", "folder", "--data_root", world.data, "--out", out / "s.png", "--crop_size", "32"],
    }
    judged = [world.best, "--data_root", world.data, "--device", "cpu"]
    quick = ["--num_workers", "0", "--bootstrap", "20"]
    lines |= {
        "calibrate": [*judged, *quick, "--out", out / "c.pth"],
        "label_faults": [*judged, "--out", out],
        "microscope": [*judged, *quick, "--out", out],
        "robustness": [*judged, *quick, "--out", out, "--corruptions", "brightness", "--strengths", "1"],
        "study": ["--runs", world.best.parent, "--out", out],
    }
    more = {
        "eval": quick,
        "configure": ["--data_root", world.enough, "--out", out / "o.json"],
        "check_submission": ["--split", "val"],
        "import_labels": ["--out", out],
        "make_receipt": [
            *("--title", "t", "--variant", "v", "--tolerance", "0.1", "--covers", "c", "--command", EVAL),
            *("--out", out / "r.json"),
        ],
        "benchmark": ["--device", "cpu"],
        "profile_step": ["--device", "cpu"],
    }
    return lines.get(name, []) + more.get(name, [])


def options(world: World) -> Callable[[Rng, Path, Guard], tuple[str, list[str]]]:
    """The target: one call of a program, most often of one of the three entry points."""
    mains = programs()
    parsers = {name: parser_of(main) for name, main in mains.items()}
    names = [*mains, "train", "train", "train", "eval", "eval", "demo_folder"]

    def target(rng: Rng, place: Path, guard: Guard) -> tuple[str, list[str]]:
        name = names[rng.integers(len(names))]
        argv = [str(word) for word in base(name, world, place / "out")]
        if argv and rng.random() < 0.1:
            del argv[rng.integers(len(argv))]
        odd = some_options(parsers[name], world, rng)
        argv = argv + odd if rng.random() < 0.9 else odd + argv
        os.chdir(place)
        Path("file").write_text("of the user")
        with guard.watch() as seen:
            done = call(mains[name], argv, place / "printed")
        found = [] if name in CHECKLISTS and done.code in (3, 4) else judge(done, ENDED)
        found += [what for what in seen if not what.startswith("pickle.")]  # that's how loader processes answer
        if found:
            found.append(f"command line: {name} {odd}"[:600])
        return f"{name} {done.code}", found

    return target
