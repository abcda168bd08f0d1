"""What would train.py take of a snapshot?"""

from collections.abc import Iterator

import network
from datasets.checks.findings import Finding
from engine.checkpoint.finetune import loads_little, start_from
from scripts.doctor_checks.visit import Visit
from utils.errors import CheckpointError, OptionError


def check_snapshot(visit: Visit) -> Iterator[Finding]:
    """Coverage of --snapshot, as train.py would load it."""
    options, path = visit.config.model, visit.config.weights.snapshot
    if path is None or not visit.splits:
        return
    names = next(iter(visit.splits.values())).classes.names
    try:
        model = network.build_model(options.arch, len(names), **options.build_options())
        report, match = start_from(model, path, names, visit.config.weights.partial)
    except (CheckpointError, OptionError) as error:
        remedy = "name the right file or --arch; --partial loads what fits"
        yield Finding("error", "--snapshot can't be used", (str(error),), remedy, error.exit_code)
        return
    if match:
        yield Finding("note" if match.new else "ok", f"{path}: {match}")
    else:
        yield Finding("note", f"{path}: bare weights, which don't name their classes; {len(names)} are assumed")
    kinds = ("missing", "mismatched", "unexpected", "unused")
    visit.details["snapshot"] = {kind: getattr(report, kind) for kind in kinds} | {"loaded": len(report.loaded)}
    few = loads_little(model, report)
    remedy = "name the right --arch, if it isn't meant" if few else ""
    yield Finding("warning" if few else "ok", f"fits {options.arch}: {report}", remedy=remedy)
