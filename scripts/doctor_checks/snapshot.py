"""What would train.py take of a snapshot, and of an encoder's weights?"""

from collections.abc import Iterator, Sequence

from torch import nn

from datasets.checks.findings import Finding
from engine.checkpoint import load_pretrained, load_snapshot
from engine.checkpoint.finetune import loads_little, start_from
from engine.training.build import create_model
from engine.training.load import check_start
from engine.training.resume import require_training
from scripts.doctor_checks.visit import Visit
from utils.errors import FENetError


def check_snapshot(visit: Visit) -> Iterator[Finding]:
    """Coverage of --pretrained and --snapshot, as train.py would load them, and whether --resume names a file."""
    weights = visit.config.weights
    if not visit.splits:
        return
    names = next(iter(visit.splits.values())).classes.names
    try:
        check_start(visit.config)
        model = create_model(visit.config, len(names))
        if weights.pretrained:
            yield Finding("ok", f"encoder weights: {load_pretrained(model, weights.pretrained, weights.partial)}")
        if weights.snapshot:
            if weights.restore_optimizer:
                require_training(load_snapshot(weights.snapshot), weights.snapshot)
            yield from _check_coverage(visit, model, names)
    except FENetError as error:
        remedy = "name the right file or --arch; --partial loads what fits"
        yield Finding("error", "train.py can't start from these weights", (str(error),), remedy, error.exit_code)


def _check_coverage(visit: Visit, model: nn.Module, names: Sequence[str]) -> Iterator[Finding]:
    """Of a snapshot; raises what loading it does."""
    arch, path = visit.config.model.arch, visit.config.weights.snapshot
    report, match = start_from(model, path, names, visit.config.weights.partial)
    if match:
        yield Finding("note" if match.new else "ok", f"{path}: {match}")
    else:
        yield Finding("note", f"{path}: bare weights, which don't name their classes; {len(names)} are assumed")
    kinds = ("missing", "mismatched", "unexpected", "unused")
    visit.details["snapshot"] = {kind: getattr(report, kind) for kind in kinds} | {"loaded": len(report.loaded)}
    few = loads_little(model, report)
    remedy = "name the right --arch, if it isn't meant" if few else ""
    yield Finding("warning" if few else "ok", f"fits {arch}: {report}", remedy=remedy)
