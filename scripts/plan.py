"""The paper's 8-GPU recipe on your GPUs: as close as their number and memory allow, and what is not equivalent.

Usage: python scripts/plan.py --gpus N --memory GIB [--arch NAME] [--recipe cityscapes] [--out plan.json]

A step takes as many crops as the recipe's, so learning rate, schedule and order of the samples stay. What gives way, in
this order: the number of processes, float32, the crops that a norm sees, the crop's size. The memory of a step is
estimated from what the model saves for its backward pass on small crops on the CPU (engine/training/memory.py).
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from config import TrainConfig, parse_train
from engine.training.memory import CONTEXT, StepMemory, build_step_memory, usable_memory
from utils.cli import run_main
from utils.errors import EnvironmentFault, OptionError
from utils.files import write_json
from utils.options import Parser
from utils.options_file import as_arguments

GIB = 2**30
SMALLEST_CROP = 256
NUM_CLASSES = 19
GPUS, MIN_KEPT = 8, 100_000  # of the recipe; the pixels are per process
RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@dataclass(frozen=True)
class Plan:
    """How the crops of a step are shared out: `processes` x `batch` x `accumulate` = `crops`."""

    processes: int
    batch: int
    accumulate: int
    crop: int
    amp: str
    needed: float  # bytes of a GPU's memory

    @property
    def crops(self) -> int:
        """Of a step."""
        return self.processes * self.batch * self.accumulate

    @property
    def norm_crops(self) -> int:
        """Crops that a norm's statistics are over."""
        return self.processes * self.batch


def recipe_batch(arch: str) -> int:
    """Crops per GPU in the recipe: 2 for SFNet, else 1."""
    return 2 if "sfnet" in arch else 1


def candidates(gpus: int, limit: float, memory: Callable[[str], StepMemory], crops: int, crop: int) -> Iterator[Plan]:
    """Every plan of `crops` crops a step that fits into `limit` bytes of each of `gpus` GPUs."""
    for amp in ("off", "bf16"):
        for batch in (n for n in range(1, crops + 1) if crops % n == 0):
            side = min(crop, memory(amp).largest_crop(limit, batch))
            for processes in range(1, gpus + 1):
                # a batch of 1 on one process leaves the pyramid pooling's norms one value per channel
                if crops % (processes * batch) == 0 and processes * batch > 1 and side >= SMALLEST_CROP:
                    needed = memory(amp).total(batch, side, side)
                    yield Plan(processes, batch, crops // (processes * batch), side, amp, needed)


def best_plan(gpus: int, limit: float, memory: Callable[[str], StepMemory], crops: int, crop: int) -> Plan:
    """The candidate with the largest crop, of these with the most crops per norm, then float32, then most processes.

    Raises:
        EnvironmentFault: There is none.
    """
    found = list(candidates(gpus, limit, memory, crops, crop))
    if not found:
        raise EnvironmentFault(
            f"--memory {limit / GIB:.1f} GiB of each GPU can be used, and not even crops of {SMALLEST_CROP} fit there;"
            " choose a smaller --arch, or larger GPUs"
        )
    return max(found, key=lambda plan: (plan.crop, plan.norm_crops, plan.amp == "off", plan.processes))


def plan_options(plan: Plan, recipe: dict, arch: str) -> dict:
    """The options of train.py."""
    share = plan.batch / recipe_batch(arch) * (plan.crop / recipe["crop_size"]) ** 2
    return recipe | {
        "arch": arch,
        "crop_size": plan.crop,
        "bs_mult": plan.batch,
        "global_batch": plan.crops,
        "norm": "sync" if plan.processes > 1 else "plain",
        "ohem_min_kept": round(MIN_KEPT * share),  # the same share of a process's pixels
        **({} if plan.amp == "off" else {"amp": plan.amp}),
    }


def differences(plan: Plan, gpus: int, recipe: dict, arch: str) -> list[str]:
    """What is not equivalent to the recipe, a line each."""
    own, lines = recipe_batch(arch), []
    if plan.crop < recipe["crop_size"]:
        lines.append(f"crops of {plan.crop} instead of {recipe['crop_size']}: less context for each pixel")
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
    own, off = recipe_batch(arch), differences(plan, gpus, recipe, arch)
    norm = "synchronised" if plan.processes > 1 else "plain"
    rows = [
        ("", "recipe", "plan"),
        ("processes", GPUS, plan.processes),
        ("crops per process", own, plan.batch),
        ("batches per step", 1, plan.accumulate),
        ("crops per step", GPUS * own, plan.crops),
        ("crop", recipe["crop_size"], plan.crop),
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


def body(argv: Sequence[str]) -> None:
    """Parse, estimate, choose, print, write."""
    parser = Parser(prog="plan.py", description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, required=True, help="GPUs that you have")
    parser.add_argument("--memory", type=float, required=True, help="memory of each, GiB")
    parser.add_argument("--arch", default="fenet_r18", help="model")
    parser.add_argument("--recipe", default="cityscapes", choices=("cityscapes",), help="what is to be reproduced")
    parser.add_argument("--out", help="write the options to this file, for train.py --options_from")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    if options.gpus < 1 or not options.memory > 0:
        raise OptionError(f"--gpus {options.gpus} --memory {options.memory}: name at least one GPU and its memory")
    recipe, known = read_recipe(options.recipe), {}

    def memory(amp: str) -> StepMemory:
        if amp not in known:
            known[amp] = build_step_memory(_config(recipe | {"arch": options.arch, "amp": amp}), NUM_CLASSES)
        return known[amp]

    limit = usable_memory(options.memory * GIB)
    plan = best_plan(options.gpus, limit, memory, GPUS * recipe_batch(options.arch), recipe["crop_size"])
    chosen = plan_options(plan, recipe, options.arch)
    _config(chosen).for_processes(plan.processes)
    print("\n".join(describe(plan, options.gpus, options.memory, recipe, options.arch)))
    if options.out:
        write_json(options.out, chosen)
    arguments = ["--options_from", options.out] if options.out else as_arguments(chosen)
    launcher = "python" if plan.processes == 1 else f"torchrun --standalone --nproc_per_node={plan.processes}"
    print(f"{launcher} train.py {shlex.join(arguments)}")


def _config(options: dict) -> TrainConfig:
    return parse_train(as_arguments(options))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
