"""The variants of a trained FENet: parts of it replaced while an image is predicted, then put back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from network.parts.enhancement import FeatureFilter

MODULES = {"fem_d": "FEM-D", "fem_s": "FEM-S"}  # attribute of the model -> name
BOTH = "both"
TRAINED, MEAN = "as_trained", "mean_filters"
MEANINGS = {
    "off": "The module is taken out: the level that it writes passes through unchanged, as in a model that is built"
    " without it. Its 3x3 convolutions and norms are gone too, on whose output everything behind it was trained.",
    "silent": "Only the module's filter is switched off: its answer to both inputs is 0, and the module's"
    " convolutions, norms and addition run as they were trained.",
    MEAN: "Each filter is set back to the mean filter that training started from; the rest is as trained.",
}  # by the end of a variant's name


@dataclass(frozen=True)
class Variant:
    """A way to run the model.

    Attributes:
        name: In `microscope.json`.
        title: For people.
        parts: Dotted name of a part of the model -> what stands in its place; empty: as trained.
    """

    name: str
    title: str
    parts: Mapping[str, nn.Module] = field(default_factory=dict)


class Silence(nn.Module):
    """A filter that answers 0 to any map."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class RememberingEncoder(nn.Module):
    """An encoder that keeps its last features, because the variants differ behind it only.

    So whole images at one scale are encoded once for all variants; pieces and scales of an image take turns, and each
    is encoded again.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.last: tuple[Tensor, list[Tensor]] | None = None

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.last is None or not torch.equal(self.last[0], x):
            self.last = x, self.encoder(x)
        return self.last[1]


def modules_of(model: nn.Module) -> dict[str, str]:
    """Those of `MODULES` that the model has."""
    lists = {name: getattr(model, name, None) for name in MODULES}
    return {name: MODULES[name] for name, found in lists.items() if isinstance(found, nn.ModuleList) and len(found)}


def filters_of(model: nn.Module) -> dict[str, FeatureFilter]:
    """The enhancement filters by dotted name, in the order in which the model uses them."""
    names = [f"fem_d.{i}" for i in range(len(model.fem_d))] + [f"fem_s.{i}" for i in reversed(range(len(model.fem_s)))]
    return {f"{name}.filter": model.get_submodule(f"{name}.filter") for name in names}


def build_variants(model: nn.Module, device: torch.device) -> list[Variant]:
    """As trained, each kind of module off and silent, both where there are both, and all filters set back to the mean.

    Args:
        model: A FENet with at least one module, not fused.
        device: Where the stand-ins compute.
    """
    kinds, filters = modules_of(model), filters_of(model)
    groups = {name: [name] for name in kinds}
    if len(kinds) > 1:
        groups[BOTH] = list(kinds)
    variants = [Variant(TRAINED, "as trained")]
    for state in ("off", "silent"):
        for group, names in groups.items():
            if state == "off":
                parts = {name: nn.ModuleList() for name in names}
            else:
                parts = {name: Silence() for name in filters if name.split(".")[0] in names}
            variants.append(Variant(f"{group}_{state}", f"{kinds.get(group, BOTH)} {state}", parts))
    means = {name: mean_filter(own).to(device) for name, own in filters.items()}
    return [*variants, Variant(MEAN, "mean filters", means)]


def mean_filter(trained: FeatureFilter) -> FeatureFilter:
    """The filter that training started from, of the same size, padding and kind."""
    channels, _, side, _ = trained.weight.shape
    return FeatureFilter(channels, side, trained.padding, trained.smooth).requires_grad_(False).eval()


@contextmanager
def switched(model: nn.Module, parts: Mapping[str, nn.Module]) -> Iterator[None]:
    """Inside the context `model` has `parts`, by dotted name; afterwards it has its own again, untouched."""
    kept = {name: model.get_submodule(name) for name in parts}
    try:
        for name, part in parts.items():
            model.set_submodule(name, part)
        yield
    finally:
        for name, part in kept.items():
            model.set_submodule(name, part)
