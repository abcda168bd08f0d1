"""The paper's 8-GPU recipe on other GPUs: as close as their number and memory allow, and what is not equivalent.

A step takes as many crops as the recipe's, so learning rate, schedule and order of the samples stay. What gives way, in
this order: the number of processes, float32, the crops that a norm sees, the crop's size. The memory of a step is
estimated from what the model saves for its backward pass on small crops on the CPU (engine/training/memory.py).
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import TrainConfig, parse_train
from datasets.checks.inspection import choose_samples
from engine.training.build import open_splits
from engine.training.memory import CONTEXT, StepMemory, build_step_memory, usable_memory
from scripts.configuring.gpu_plan import GIB, Plan, best_plan
from scripts.configuring.sizes import STEP
from utils.errors import DataError, OptionError
from utils.options import Parser
from utils.options_file import as_arguments

NUM_CLASSES, DEFAULT_ARCH = 19, "fenet_r18"
GPUS, CROP, MIN_KEPT = 8, 1024, 100_000  # of the recipe; OHEM keeps so many pixels of a process's
MOST_MEMORY = 100_000
SIZES = 64  # images whose sizes are looked at
RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def recipe_batch(arch: str) -> int:
    """Crops per GPU in the recipe: 2 for SFNet, else 1."""
    return 2 if "sfnet" in arch else 1


def plan_options(plan: Plan, recipe: dict, arch: str) -> dict:
    """The options of train.py."""
    share = plan.batch / recipe_batch(arch) * (plan.crop / CROP) ** 2
    return recipe | {
        "arch": arch,
        "crop_size": plan.crop,
        "bs_mult": plan.batch,
        "global_batch": plan.crops,
        "norm": "sync" if plan.processes > 1 else "plain",
        "ohem_min_kept": round(MIN_KEPT * share),  # the same share of a process's pixels
        **({} if plan.amp == "off" else {"amp": plan.amp}),
    }


def differences(plan: Plan, gpus: int, arch: str) -> list[str]:
    """What is not equivalent to the recipe, a line each."""
    own, lines = recipe_batch(arch), []
    if plan.crop < CROP:
        lines.append(f"crops of {plan.crop} instead of {CROP}: less context for each pixel")
    if plan.norm_crops < plan.crops:
        lines.append(f"norm statistics over {plan.norm_crops} crops instead of {plan.crops}: noisier")
    if plan.accumulate > 1:
        lines.append(f"{plan.accumulate} batches a step: the norms' running statistics move {plan.accumulate} times")
    if plan.amp != "off":
        lines.append("mixed precision (bfloat16) instead of float32")
    if plan.batch != own:
        lines.append(f"OHEM chooses among the pixels of {plan.batch} crops together instead of {own}")
    if plan.processes < gpus:
        lines.append(
            f"{gpus - plan.processes} of {gpus} GPUs stay idle: more processes don't divide {plan.crops} crops;"
            " a larger --global_batch uses them and is another recipe"
        )
    return lines


def describe(plan: Plan, gpus: int, memory: float, recipe: dict, arch: str) -> list[str]:
    """Recipe and plan side by side, and what differs."""
    own, off = recipe_batch(arch), differences(plan, gpus, arch)
    norm = "synchronised" if plan.processes > 1 else "plain"
    rows = [
        ("", "recipe", "plan"),
        ("processes", GPUS, plan.processes),
        ("crops per process", own, plan.batch),
        ("batches per step", 1, plan.accumulate),
        ("crops per step", GPUS * own, plan.crops),
        ("crop", CROP, plan.crop),
        ("norms over", f"{GPUS * own}, synchronised", f"{plan.norm_crops}, {norm}"),
        ("learning rate", recipe["lr"], recipe["lr"]),
        ("precision", "float32", "float32" if plan.amp == "off" else plan.amp),
        ("memory, GiB", "", f"about {(plan.needed + CONTEXT) / GIB:.1f} of {memory:g}"),
    ]
    lines = [f"{name:<18} {first!s:<18} {second}" for name, first, second in rows]
    work = GPUS / plan.processes
    lines += ["", "Not equivalent:" if off else "Equivalent to the recipe.", *(f"- {line}" for line in off)]
    return lines + [f"Each GPU does {work:g} times the work of one of the recipe's.", ""]


def read_recipe(name: str) -> dict:
    """The options that recipes/NAME.args names, but for those that a plan chooses."""
    words = shlex.split((RECIPES / f"{name}.args").read_text(), comments=True)
    options, default = parse_train(words).to_dict(), parse_train([]).to_dict()
    named = {word.removeprefix("--") for word in words} | {key for key in options if options[key] != default[key]}
    return {key: value for key, value in options.items() if key in named - {"syncbn", "bs_mult"}}


def add_gpu_options(parser: Parser, required: bool) -> None:
    """The options of this room's part."""
    parser.add_argument("--gpus", type=int, required=required, help="GPUs that you have")
    parser.add_argument("--memory", type=float, required=required, help="memory of each, GiB")
    parser.add_argument("--recipe", default="cityscapes", choices=("cityscapes",), help="what is to be reproduced")


def check_gpus(gpus: int, memory: float) -> None:
    """Raises `OptionError` for GPUs that there can't be."""
    if gpus < 1 or not 0 < memory <= MOST_MEMORY:
        raise OptionError(
            f"--gpus {gpus} --memory {memory}: name at least one GPU and its memory, up to {MOST_MEMORY} GiB"
        )


def fit_to_data(own: dict, name: str, arch: str) -> tuple[dict, int]:
    """Of other data, named by `own`, what replaces options of the recipe `name`, and the number of classes.

    Raises:
        DataError: The data isn't there, or doesn't fill a step of the recipe.
    """
    split, recipe = open_splits(_config(own)).train, read_recipe(name)
    if split.epoch_length < (crops := GPUS * recipe_batch(arch)):
        raise DataError(
            f"{own['data_root']}: {split.split} has {split.epoch_length} images, and a step of the recipe takes {crops}"
            " crops; add images, or configure with --hours instead of --gpus"
        )
    short = int(np.median([min(split.image_size(index)) for index in choose_samples(split, SIZES, 0)]))
    side = min(recipe["crop_size"], max(STEP, short // STEP * STEP))
    sizes = {"crop_size": side, "class_uniform_tile": min(recipe["class_uniform_tile"], side)}
    return own | sizes, split.classes.num_classes


@dataclass(frozen=True)
class Elsewhere:
    """The recipe on other GPUs: its options, what is said about them, and the processes that it takes."""

    options: dict
    lines: list[str]
    processes: int

    def command(self, out: str | None) -> str:
        """How to train; `out`: the file that holds the options."""
        arguments = ["--options_from", out] if out else as_arguments(self.options)
        several = f"torchrun --standalone --nproc_per_node={self.processes}"
        return f"{'python' if self.processes == 1 else several} train.py {shlex.join(arguments)}"


def plan_recipe(
    name: str, arch: str, gpus: int, memory: float, own: dict | None = None, num_classes: int = NUM_CLASSES
) -> Elsewhere:
    """The recipe `name` with model `arch` on `gpus` GPUs of `memory` GiB.

    Args:
        name, arch, gpus, memory: See above.
        own: Options of other data, in the place of the recipe's.
        num_classes: Of the data.

    Raises:
        EnvironmentFault: Nothing fits.
        OptionError: No such model.
    """
    check_gpus(gpus, memory)
    recipe, known = read_recipe(name) | (own or {}), {}

    def step_memory(amp: str) -> StepMemory:
        if amp not in known:
            known[amp] = build_step_memory(_config(recipe | {"arch": arch, "amp": amp}), num_classes)
        return known[amp]

    limit = usable_memory(memory * GIB)
    plan = best_plan(gpus, limit, step_memory, GPUS * recipe_batch(arch), recipe["crop_size"])
    chosen = plan_options(plan, recipe, arch)
    _config(chosen).for_processes(plan.processes)
    return Elsewhere(chosen, describe(plan, gpus, memory, recipe, arch), plan.processes)


def _config(options: dict) -> TrainConfig:
    return parse_train(as_arguments(options))
