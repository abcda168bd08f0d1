"""What is run: configurations that hold every pair of values at least once, made from the registries."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product

from engine.inference.precision import PRECISIONS
from loss.registry import list_losses
from network.registry import EXTRAS, MODELS, list_models, model_options
from optimizer import list_optimizers

CROP, CLASSES = 256, 19
OPTIONS = {  # dimension -> value -> options of train.py
    "loss": {name: ["--loss", name] for name in list_losses()},
    "optimizer": {name: ["--optimizer", name] for name in list_optimizers()},
    "precision": {name: ["--amp", name] for name in PRECISIONS},
    "ema": {False: [], True: ["--ema", "0.99"]},
    "accumulate": {1: [], 2: ["--accumulate", "2"]},
    "recompute": {False: [], True: ["--checkpoint_activations"]},
    "deterministic": {False: [], True: ["--deterministic"]},
}
MORE = {  # what the pairs don't hold
    "boundary head, reflected filters": "--arch fenet_tiny --amp bf16 --deterministic --boundary"
    " --filter_padding reflect --filter_weights zero_sum",
    "contiguous, boundary head": "--arch fenet_tiny --no-channels_last --amp bf16 --boundary",
    "group norms": "--arch sfnet_r18 --norm group --amp bf16",
    "group norms, float32": "--arch fenet_tiny --norm group --norm_groups 4 --amp off",
    "frozen norms and encoder": "--arch fenet_tiny --fix_bn --freeze_trunk --amp bf16 --no_decay_norm_bias",
    "clipped gradients, rates by depth": "--arch fenet_tiny --amp fp16 --clip_grad 1 --lr_decay_by_depth 0.75",
    "weighted classes": "--arch fenet_tiny --amp bf16 --deterministic --ohem --class_weights "
    + ",".join(map(str, range(CLASSES))),
    "added losses": "--arch fenet_tiny --amp bf16 --deterministic --add_loss dice:0.5,lovasz:0.5",
    "augmented on the device": "--arch fenet_tiny --augment device --amp bf16 --deterministic",
}


@dataclass(frozen=True)
class Case:
    """A configuration by its name and train.py's options."""

    name: str
    argv: tuple[str, ...]


def class_of(name: str) -> Callable:
    """The class of a registered model, or what builds it."""
    builder = MODELS[name]
    parts = [builder.func, *builder.args] if isinstance(builder, partial) else [builder]
    return next(filter(inspect.isclass, parts), builder)


def family(name: str) -> str:
    """What a registered model is a size or a relative of: those of one class, on timm's encoders, or all peers."""
    return EXTRAS.get(name) or getattr(class_of(name), "__name__", name)


def families(models: Sequence[str]) -> dict[str, list[str]]:
    """Family -> those of `models` that belong to it, in the registry's order: small ones come first."""
    found: dict[str, list[str]] = {}
    for name in MODELS:
        if name in models:
            found.setdefault(family(name), []).append(name)
    return found


def covering(dimensions: Mapping[str, Sequence], allowed: Callable[[dict], bool] = lambda row: True) -> list[dict]:
    """Rows (dimension -> value), chosen greedily, in which each pair of values that an allowed row has occurs."""
    names = list(dimensions)
    rows = [dict(zip(names, values, strict=True)) for values in product(*dimensions.values())]
    pairs_of = [set(combinations(row.items(), 2)) for row in rows if allowed(row)]
    rows = [row for row in rows if allowed(row)]
    missing, chosen = set().union(*pairs_of), []
    while missing:
        best = max(range(len(rows)), key=lambda i: len(pairs_of[i] & missing))
        chosen.append(rows[best])
        missing -= pairs_of[best]
    return chosen


def cases(models: Sequence[str], crop: int = CROP, *more: str) -> list[Case]:
    """The pairs of families and options; the models of a family take turns.

    Args:
        models: Registered names.
        crop: Side of the crops.
        more: Options of all.
    """
    members = families(models)
    rows = covering(
        {"family": list(members), **{name: list(values) for name, values in OPTIONS.items()}},
        lambda row: not row["recompute"] or hasattr(class_of(members[row["family"]][0]), "checkpoint_units"),
    )
    found = []
    for row in rows:
        own = members[row["family"]]
        own.append(own.pop(0))  # in turn
        argv = ["--arch", own[-1], *(o for name in OPTIONS for o in OPTIONS[name][row[name]])]
        found.append(Case(" ".join(argv), (*argv, "--crop_size", str(crop), *more)))
    return found


def fast_cases(count: int = 10) -> list[Case]:
    """The first configurations of the smallest model of each of our own families, with a narrow decoder."""
    narrow = [name for name in list_models() if name not in EXTRAS and "channels" in model_options(name)]
    smallest = [names[0] for names in families(narrow).values()]
    return cases(smallest, 128, "--channels", "16")[:count]


def all_cases() -> list[Case]:
    """All pairs with the registered models in turn, those that didn't have theirs, and `MORE`."""
    found = cases(list_models())
    seen = {case.argv[1] for case in found}
    lines = {name: f"--arch {name} --amp bf16" for name in list_models() if name not in seen} | MORE
    return found + [Case(name, (*line.split(), "--crop_size", str(CROP))) for name, line in lines.items()]
