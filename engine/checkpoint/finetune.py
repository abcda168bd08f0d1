"""Fine-tuning: a snapshot of ours as the start of a model with other classes, which are matched by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.keys import find_weights
from engine.checkpoint.loading import check_scale, fill_model, restore_normalization
from engine.checkpoint.snapshot import read_snapshot_file
from engine.checkpoint.weights import LoadReport, fit_weights
from network import build_model
from utils.logging import get_logger


@dataclass(frozen=True)
class ClassMatch:
    """Which classes of a data set a snapshot knows, by name: case, `_` and `-` don't count.

    Attributes:
        rows: (train id of the data, train id of the snapshot) of the classes that both have.
        new: Names that the snapshot doesn't know.
        left: Names that the data doesn't have.
    """

    rows: tuple[tuple[int, int], ...]
    new: tuple[str, ...]
    left: tuple[str, ...]

    @classmethod
    def by_name(cls, wanted: Sequence[str], known: Sequence[str]) -> "ClassMatch":
        """The match of a data set's class names with a snapshot's."""
        places = {_plain(name): i for i, name in enumerate(known)}
        found = [places.get(_plain(name)) for name in wanted]
        rows = tuple((i, place) for i, place in enumerate(found) if place is not None)
        new = tuple(name for name, place in zip(wanted, found, strict=True) if place is None)
        left = tuple(name for i, name in enumerate(known) if i not in found)
        return cls(rows, new, left)

    def __str__(self) -> str:
        text = f"{len(self.rows)} of {len(self.rows) + len(self.new)} classes matched by name"
        for kind, names in (("new", self.new), ("left out", self.left)):
            text += f"; {kind}: {', '.join(names)}" if names else ""
        return text


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


def snapshot_config(path: str | Path) -> dict | None:
    """The `config` of a snapshot of ours; None for bare weights.

    Raises:
        CheckpointError: Unreadable, or it describes no model that goes with its weights.
    """
    content = read_snapshot_file(path)
    if not _names_classes(content):
        return None
    check_scale(content["config"], find_weights(content, path), path)
    return content["config"]


def start_from(
    model: nn.Module, path: str | Path, names: Sequence[str], partial: bool = False
) -> tuple[LoadReport, ClassMatch | None]:
    """Load a model's first weights: of a snapshot of ours what fits, of other files as `load_weights` does.

    Args:
        model: Has `config`; gets the weights, in place.
        path: The file; averaged weights are taken where it has them. Of a snapshot's layers with an output for each
            class those outputs are taken whose names it knows.
        names: Class names of `model` by train id.
        partial: Of bare weights, which name no classes, load what fits.

    Returns:
        What was loaded, and the match of the classes; None for bare weights.

    Raises:
        CheckpointError: Unreadable, or it doesn't fit.
    """
    content = read_snapshot_file(path)
    if not _names_classes(content):
        return fill_model(model, content, path, partial), None
    match = ClassMatch.by_name(names, content["classes"]["names"])
    weights = _by_class(model, find_weights(content, path), match)
    report = fit_weights(model, weights, str(path), partial=True)
    restore_normalization(model, content["config"])
    note_temperature(content, path)
    return report, match


def note_temperature(content: Mapping, path: str | Path) -> None:
    """Say that training leaves a calibrated snapshot's temperature behind: it fits the old weights alone."""
    if "temperature" in content:
        get_logger().info(
            f"{path}: its temperature {content['temperature']:.4f} isn't taken over; scripts/calibrate.py fits one to"
            " the new weights"
        )


def loads_little(model: nn.Module, report: LoadReport) -> bool:
    """True where less than half of the model's tensors were loaded, which is seldom meant."""
    return 2 * len(report.loaded) < len(model.state_dict())


def _names_classes(content: Any) -> bool:
    return is_snapshot(content) and "classes" in content


def _by_class(model: nn.Module, weights: Mapping[str, Tensor], match: ClassMatch) -> dict[str, Tensor]:
    """The weights, those that depend on the number of classes rearranged; where no class matches they are left out."""
    own, result = model.state_dict(), dict(weights)
    to, source = torch.tensor(match.rows, dtype=torch.long).reshape(-1, 2).unbind(1)
    for name, axis in class_axes(model).items():
        theirs = result.pop(name, None)
        if theirs is None or not match.rows or theirs.ndim != own[name].ndim:
            continue
        rows = theirs.index_select(axis, source).to(own[name])
        if rows.shape == own[name].index_select(axis, to).shape:
            result[name] = own[name].clone().index_copy_(axis, to, rows)
    return result


def class_axes(model: nn.Module) -> dict[str, int]:
    """Tensor of the model's state -> its axis with an entry for each class, of those that have one."""
    config = model.config
    with torch.device("meta"):
        more = build_model(config["arch"], config["num_classes"] + 1, **config["options"]).state_dict()
    axes = {}
    for name, tensor in model.state_dict().items():
        for axis, (size, other) in enumerate(zip(tensor.shape, more[name].shape, strict=True)):
            if size != other:
                axes[name] = axis
    return axes
