"""Does a snapshot fit the model and the data set's classes?"""

from collections.abc import Iterator

import network
from datasets.checks.findings import Finding
from engine.checkpoint.archive import read_archive
from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.loading import check_classes, load_weights
from scripts.doctor_checks.visit import Visit
from utils.errors import CheckpointError, OptionError


def snapshot_arch(path: str) -> tuple[str, dict] | None:
    """Name and options of the model that a snapshot of ours holds; None for bare weights. Raises `CheckpointError`."""
    content = read_archive(path)
    return (content["config"]["arch"], content["config"]["options"]) if is_snapshot(content) else None


def check_snapshot(visit: Visit) -> Iterator[Finding]:
    """Coverage of --snapshot, as train.py would load it."""
    options, path = visit.config.model, visit.config.weights.snapshot
    if path is None:
        return
    try:
        content = read_archive(path)
        names = next(iter(visit.splits.values())).classes.names
        if is_snapshot(content):
            check_classes(content, names, path)
            yield Finding("ok", f"{path}: holds the data set's {len(names)} classes, in its order")
        else:
            yield Finding("note", f"{path}: bare weights, which don't name their classes; {len(names)} are assumed")
        model = network.build_model(options.arch, len(names), **options.build_options())
        report = load_weights(model, path, partial=True)
    except (CheckpointError, OptionError) as error:
        yield Finding(
            "error",
            "--snapshot can't be used",
            (str(error),),
            "name the right file, --arch or --dataset",
            error.exit_code,
        )
        return
    visit.details["snapshot"] = {
        kind: getattr(report, kind) for kind in ("missing", "mismatched", "unexpected", "unused")
    }
    visit.details["snapshot"]["loaded"] = len(report.loaded)
    if report.complete:
        yield Finding("ok", f"fits {options.arch}: {report}")
    elif visit.config.weights.partial:
        yield Finding(
            "warning", f"fits {options.arch} in part: {report}", remedy="name the right --arch, if it isn't meant"
        )
    else:
        remedy = "name the right --arch, or --partial to load what fits"
        yield Finding("error", f"doesn't fit {options.arch}: {report}", remedy=remedy, exit_code=4)
