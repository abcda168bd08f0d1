"""What a study says, as plain data: `study.json`."""

from collections.abc import Mapping, Sequence

import numpy as np

from scripts.studies.keys import deciding, default_options
from scripts.studies.record import RunRecord
from scripts.studies.statistics.blocks import image_blocks
from scripts.studies.statistics.differences import (
    ALPHA,
    LEVEL,
    POWER,
    RESAMPLES,
    Difference,
    Sample,
    compare,
    holm,
    samples_of,
)
from utils.errors import DataError, OptionError

Variants = Mapping[str, Sequence[RunRecord]]


def check_comparable(records: Sequence[RunRecord]) -> None:
    """Raise `OptionError` where runs are scored on other data or otherwise, `DataError` where the images differ.

    The precision may differ: `--amp auto` scores each model in what keeps its labels, and `study.json` names it.
    """
    first = records[0]
    for record in records[1:]:
        for name, ours in _scoring(first).items():
            if ours != (theirs := _scoring(record)[name]):
                raise OptionError(f"these runs don't compare: {name} {ours} and {theirs}; score all the same way")
        if first.images != record.images or first.classes != record.classes:
            raise DataError(
                f"these runs don't compare: seeds {first.seed} and {record.seed} are scored on other images of"
                f" {first.dataset} {first.split}; score all on the same ones"
            )
        if not np.array_equal(first.class_counts[..., 1], record.class_counts[..., 1]):
            raise DataError(f"these runs don't compare: the labels of {first.dataset} {first.split} have changed")


def _scoring(record: RunRecord) -> dict:
    """On what and how it is scored, but for the precision."""
    protocol = {name: value for name, value in record.protocol.items() if name != "amp"}
    return {"dataset": record.dataset, "split": record.split, "protocol": protocol}


def build_results(variants: Variants, wanted: Sequence[float], missing: int = 0) -> dict:
    """`study.json`: `variants` and what they are compared by.

    Args:
        variants: The runs of each, a run at least; the first is the reference. One without runs is left out.
        wanted: Differences of mean IoU for which the needed seeds are named.
        missing: Runs that aren't finished.

    Raises:
        FENetError: See `check_comparable`.
    """
    reference = next(iter(variants))
    found = {name: records for name, records in variants.items() if records}
    records = [record for group in found.values() for record in group]
    check_comparable(records)
    first = records[0]
    blocks, ordered = image_blocks(first.images, first.dataset)
    number = int(blocks.max()) + 1
    samples = {
        name: samples_of(np.stack([record.iou_counts for record in group]), blocks) for name, group in found.items()
    }
    base = samples.get(reference)
    compared = {
        name: compare(base[-1], rows[-1], number) for name, rows in samples.items() if base and name != reference
    }
    rows = {name: _variant(group, samples[name], first.classes) for name, group in found.items()}
    for name, values in _differences(compared, base, samples, number, wanted).items():
        for column, class_name in enumerate(first.classes):
            rows[name]["per_class"][class_name] |= values["per_class"][column]
        rows[name] |= values["all"]
    return {
        **_scoring(first),
        "num_images": len(first.images),
        "blocks": number,
        "frames_in_order": ordered,
        "reference": reference,
        "missing": missing,
        "comparisons": len(compared),
        "level": LEVEL,
        "alpha": ALPHA,
        "power": POWER,
        "bootstrap": {"over": "blocks of frames" if ordered else "images", "resamples": RESAMPLES},
        "variants": rows,
    }


def _variant(records: Sequence[RunRecord], samples: Sequence[Sample], classes: Sequence[str]) -> dict:
    """What is known of a variant by itself; `difference` and `interval` are filled in where there are some."""
    mean = samples[-1]
    per_class = {
        name: {"mean": _number(sample.mean), "std": _spread(sample), "difference": None, "interval": None}
        for name, sample in zip(classes, samples[:-1], strict=True)
    }
    default = default_options()
    chosen = {name: value for name, value in deciding(records[0].options).items() if value != default.get(name)}
    return {
        "seeds": [record.seed for record in records],
        "mean_iou": [_number(score) for score in mean.scores],
        "mean": _number(mean.mean),
        "std": _spread(mean),
        "difference": None,
        "interval": None,
        "per_class": per_class,
        "seconds": [record.seconds for record in records],
        "memory": [record.memory for record in records],
        "options": chosen,
        "precision": sorted({record.precision for record in records}),
        "scored_precision": sorted({record.protocol["amp"] for record in records}),
        "runs": [
            {"seed": run.seed, "revision": run.revision, "scored": run.snapshot, "sha256": run.snapshot_sha256}
            for run in records
        ],
    }


def _differences(
    compared: Mapping[str, Difference | None],
    base: Sequence[Sample],
    samples: Mapping[str, Sequence[Sample]],
    blocks: int,
    wanted: Sequence[float],
) -> dict[str, dict]:
    """Of each variant compared with the reference: `all` (of the mean IoU), and `per_class`, whose intervals aren't
    corrected for their number."""
    known = {name: one for name, one in compared.items() if one is not None}
    adjusted = dict(zip(known, holm([one.p_value for one in known.values()]), strict=True))
    rows = {}
    for name in compared:
        row = {"difference": samples[name][-1].mean - base[-1].mean, "interval": None}
        if name in known:
            row |= _of_difference(known[name], adjusted[name], len(compared), wanted)
        per_class = []
        for ours, theirs in zip(base[:-1], samples[name][:-1], strict=True):
            one = compare(ours, theirs, blocks)
            difference = _number(theirs.mean - ours.mean)
            per_class.append({"difference": difference, "interval": one and one.interval()})
        rows[name] = {"all": row, "per_class": per_class}
    return rows


def _of_difference(one: Difference, adjusted: float, comparisons: int, wanted: Sequence[float]) -> dict:
    return {
        "interval": one.interval(),
        "p_value": one.p_value,
        "p_holm": adjusted,
        "holds": adjusted < ALPHA,
        "standard_error": one.error,
        "degrees_of_freedom": min(one.df, 1e9),
        "variance": {"seeds": list(one.seeds), "images": one.images},
        "visible": one.visible(comparisons),
        "seeds_needed": {f"{difference:g}": one.seeds_for(difference, comparisons) for difference in wanted},
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _spread(sample: Sample) -> float | None:
    """Standard deviation over seeds; None of a single run."""
    return _number(sample.scores.std(ddof=1)) if len(sample.scores) > 1 else None
