"""Every criterion reaches the reference figures, in float64 closely and in float32 nearly."""

import pytest
import torch

from loss import ImageWeightedCrossEntropy, OhemCrossEntropy, RelaxedBoundaryLoss
from tests.golden_vectors import load, vectors

CASES = [case for case in load("losses")["cases"] if case["kind"] != "boundary_f_score"]


def criterion(case: dict) -> torch.nn.Module:
    classes = case["shape"][1]
    if case["kind"] == "ohem_cross_entropy":
        return OhemCrossEntropy(case["thresh"], case["min_kept"])
    if case["kind"] == "relaxed_boundary_nll":
        return RelaxedBoundaryLoss(classes, border=case["border"], upper_bound=case["upper_bound"])
    return ImageWeightedCrossEntropy(classes, upper_bound=case["upper_bound"], batch_weighting=case["batch_weighting"])


def inputs(case: dict, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    n, _, h, w = case["shape"]
    logits = torch.from_numpy(vectors.logits(*case["shape"], case["seed"], case["scale"])).to(dtype)
    return logits.requires_grad_(), torch.from_numpy(vectors.labels(n, h, w, case["seed"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}-{case['seed']}")
def test_float64(case):
    logits, labels = inputs(case, torch.float64)
    loss = criterion(case)(logits, labels)
    loss.backward()
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(case["loss"], rel=1e-6)
    assert logits.grad.norm().item() == pytest.approx(case["grad_l2"], rel=1e-6)
    if "grad_nonzero_pixels" in case:
        assert int(logits.grad.abs().sum(1).count_nonzero()) == case["grad_nonzero_pixels"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}-{case['seed']}")
def test_float32_also_under_autocast(case):
    logits, labels = inputs(case, torch.float32)
    loss = criterion(case)(logits, labels)
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(criterion(case)(logits, labels), loss)


@pytest.mark.parametrize("case", [c for c in CASES if "target_sum" in c], ids=lambda case: str(case["seed"]))
def test_relaxed_target(case):
    _, labels = inputs(case, torch.float64)
    target = criterion(case).relaxed_target(labels)
    assert target.sum((0, 2, 3)).tolist() == case["target_sum_per_class"]
    assert int(target.sum()) == case["target_sum"]
