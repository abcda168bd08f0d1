"""What would train.py take of a snapshot, and of an encoder's weights?"""

from collections.abc import Iterator, Sequence

from torch import nn

from datasets.checks.findings import Finding
from engine.checkpoint import load_pretrained, load_snapshot
from engine.checkpoint.finetune import loads_little, start_from
from engine.training.build import create_model
from engine.training.load import check_start, starts_anew
from engine.training.resume import Checkpoint, read_newest, require_training
from scripts.doctor_checks.visit import Visit
from utils.errors import CheckpointError, FENetError


def check_snapshot(visit: Visit) -> Iterator[Finding]:
    """Coverage of --pretrained and --snapshot, as train.py would load them; what a run that resumes has instead."""
    weights = visit.config.weights
    if not visit.splits:
        return
    names = next(iter(visit.splits.values())).classes.names
    try:
        check_start(visit.config)
        if not starts_anew(visit.config):
            run, problems = visit.config.run, []
            path, content = read_newest(run.folder, run.resume, problems.append)
            step = Checkpoint(path, content).training["state"]["step"]
            yield Finding("warning" if problems else "ok", f"resumes at step {step} from {path}", tuple(problems))
            return
        model = create_model(visit.config, len(names))
        if weights.pretrained:
            yield Finding("ok", f"encoder weights: {load_pretrained(model, weights.pretrained, weights.partial)}")
        if weights.snapshot:
            if weights.restore_optimizer:
                require_training(load_snapshot(weights.snapshot), weights.snapshot)
            yield from _check_coverage(visit, model, names)
    except FENetError as error:
        fits = isinstance(error, CheckpointError)
        remedy = "name the right file or --arch; --partial loads what fits" if fits else ""
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
