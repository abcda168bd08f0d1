"""What the sampler did: wanted and realised shares of the classes, and which images were drawn."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.sampling.class_uniform import Centroids, EpochPlan, crops_per_class
from utils.files import write_atomically


def audit_epoch(
    epoch: int,
    plan: EpochPlan,
    num_images: int,
    seen: np.ndarray,
    wanted: dict[str, float],
    names: Sequence[str],
) -> dict:
    """Plain data about one epoch's draws over all processes.

    Args:
        epoch: Its number, from 0.
        plan: The draws that are trained on.
        num_images: Images of the split that an epoch goes through, the first ones; others are left out of the shares.
        seen: Images drawn in this or an earlier epoch, each once.
        wanted: Crops centred on each class that were asked for; see `wanted_histogram`.
        names: Class names by train id.

    Returns:
        `epoch`, `crops`, `class_crops_wanted` and `class_crops` (crops centred on a class, by class name), and the
        shares of the images that were drawn at least once, `images_drawn` this epoch and `images_drawn_so_far`.
    """
    return {
        "epoch": epoch,
        "crops": len(plan),
        "class_crops_wanted": wanted,
        "class_crops": dict(zip(names, crops_per_class(plan, len(names)).tolist(), strict=True)),
        "images_drawn": _share(np.unique(plan.images), num_images),
        "images_drawn_so_far": _share(seen, num_images),
    }


def _share(images: np.ndarray, num_images: int) -> float:
    return int((images < num_images).sum()) / num_images


def wanted_histogram(centroids: Centroids | None, share: float, crops: int, names: Sequence[str]) -> dict[str, float]:
    """`share` of an epoch's `crops` in equal parts for the classes that the data has; 0 for an absent class."""
    present = [len(rows) > 0 for rows in centroids] if centroids and share else [False] * len(names)
    part = share * crops / max(1, sum(present))
    return {name: part if there else 0.0 for name, there in zip(names, present, strict=True)}


def describe_audit(audit: dict) -> str:
    """One line for the log."""
    wanted, counts = audit["class_crops_wanted"], audit["class_crops"]
    classes = ", ".join(f"{name} {counts[name]}/{wanted[name]:.1f}" for name in counts)
    return (
        f"epoch {audit['epoch']}: {sum(counts.values())} of {audit['crops']} crops centred on a class"
        f" ({sum(wanted.values()):.0f} wanted); drawn/wanted: {classes}; images drawn: {audit['images_drawn']:.1%} in"
        f" this epoch, {audit['images_drawn_so_far']:.1%} so far"
    )


def write_audit(path: Path, audit: dict) -> None:
    """Add the epoch's line to a file of JSON lines; lines of this and later epochs, of an earlier run, are dropped."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    kept = [line for line in lines if _epoch_of(line) < audit["epoch"]]
    text = "".join(line + "\n" for line in [*kept, json.dumps(audit, allow_nan=False)])
    write_atomically(path, lambda file: file.write(text.encode()))


def _epoch_of(line: str) -> float:
    """The epoch of a line; infinity where it is damaged."""
    try:
        return json.loads(line)["epoch"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
