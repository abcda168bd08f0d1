"""IoU of each variant near boundaries, in the interior and everywhere, with intervals over the images."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scripts.microscopes.counting import OUTCOMES, PLACES, Counts
from scripts.microscopes.variants import TRAINED
from utils.metrics.bootstrap import difference_intervals, iou_intervals

EVERYWHERE = "everywhere"


def describe_variants(counts: Mapping[str, Counts], names: Sequence[str], resamples: int) -> dict[str, dict]:
    """Plain data of each variant.

    Args:
        counts: By the variant's name, the one as trained among them.
        names: The C classes.
        resamples: Of the bootstrap over images; 0: every interval is None.

    Returns:
        Variant -> `places`: everywhere, boundary and interior -> `mean_iou`, `interval`, `difference` to the model as
        trained, `difference_interval` (paired over the images), `per_class` with the same of each class; and
        `changes`: place -> fractions of its labelled pixels: `changed`, and of them `lost`, `gained`, `other`.
    """
    trained = _by_place(counts[TRAINED].iou)
    return {
        name: {
            "places": {
                place: _scores(iou, trained[place], names, resamples, name == TRAINED)
                for place, iou in _by_place(own.iou).items()
            },
            "changes": {
                place: _changes(rows) for place, rows in zip(PLACES, own.changes.sum(axis=0).tolist(), strict=True)
            }
            | {EVERYWHERE: _changes(own.changes.sum(axis=(0, 1)).tolist())},
        }
        for name, own in counts.items()
    }


def _by_place(iou: np.ndarray) -> dict[str, np.ndarray]:
    """(N,2,C,2) -> place -> (N,C,2): the places share no pixel, so their counts add up to those of everywhere."""
    return {EVERYWHERE: iou.sum(axis=1)} | {place: iou[:, i] for i, place in enumerate(PLACES)}


def _scores(iou: np.ndarray, trained: np.ndarray, names: Sequence[str], resamples: int, is_trained: bool) -> dict:
    """A variant's scores in a place, from the counts (N,C,2) of its own and of the model as trained."""
    own, base = ([_ratio(*row) for row in counts.sum(axis=0).tolist()] for counts in (iou, trained))
    ends, differences = iou_intervals(iou, resamples), ([None] * len(names), None)
    if not is_trained and resamples:
        differences = difference_intervals(trained, iou, resamples)
    rows = [_row("iou", *row, is_trained) for row in zip(own, base, ends[0], differences[0], strict=True)]
    total = _row("mean_iou", _mean(own), _mean(base), ends[1], differences[1], is_trained)
    return total | {"per_class": dict(zip(names, rows, strict=True))}


def _row(
    key: str, value: float | None, base: float | None, ends: list | None, difference_ends: list | None, is_trained: bool
) -> dict:
    row = {key: value, "interval": ends}
    if not is_trained:
        known = value is not None and base is not None
        row |= {"difference": value - base if known else None, "difference_interval": difference_ends}
    return row


def _ratio(common: int, union: int) -> float | None:
    return common / union if union else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Over the classes that are there, as `compute_metrics` has it."""
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(present) if present else None


def _changes(row: Sequence[int]) -> dict[str, float | int | None]:
    pixels, *parts = row
    fractions = {name: _ratio(part, pixels) for name, part in zip(OUTCOMES, parts, strict=True)}
    return {"pixels": pixels, "changed": _ratio(sum(parts), pixels), **fractions}
