"""The stages of an encoder: where they end follows from the modules that its maps come from."""

from torch import nn


def encoder_stages(encoder: nn.Module) -> list[list[nn.Module]]:
    """The stages, finest first, as lists of modules that have no children, or parameters of their own.

    A stage ends with the map of stride 4, 8, 16 or 32; what comes before the first map, the stem, is of the first
    stage, what comes after the last map of the last one.

    Raises:
        ValueError: The encoder doesn't say where its stages end (`stage_ends`, names of modules, in their order).
    """
    ends = getattr(encoder, "stage_ends", ())
    parts = [(name, part) for name, part in encoder.named_modules() if _counts(part)]
    names = [f".{name.replace('_', '.')}." for name, _ in parts]  # timm writes blocks.1 and blocks_1
    lasts = [max((i for i, name in enumerate(names) if f".{end}." in name), default=-1) for end in ends]
    if not lasts or -1 in lasts or lasts != sorted(set(lasts)):
        raise ValueError(f"{type(encoder).__name__} doesn't say where its stages end")
    stages: list[list[nn.Module]] = [[] for _ in ends]
    for i, (_, part) in enumerate(parts):
        stages[next((k for k, last in enumerate(lasts) if i <= last), len(ends) - 1)].append(part)
    return stages


def _counts(module: nn.Module) -> bool:
    own = next(module.parameters(recurse=False), None)
    return own is not None or next(module.children(), None) is None
