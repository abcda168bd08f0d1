"""Losses and gradients that aren't finite: the step is skipped on all ranks, and too many in a row end the run."""

import json
import math
import textwrap

import pytest
import torch
from torch import nn

import train
from engine.checkpoint import load_snapshot
from engine.training import Precision, train_step
from tests.conftest import launch, train_args
from utils.digests import weights_sha256


class Faulty(nn.Module):
    """Passes a criterion's terms on, with nan for the total at some calls."""

    def __init__(self, criterion, bad):
        super().__init__()
        self.criterion, self.bad, self.calls = criterion, bad, 0

    def set_progress(self, epoch):
        self.criterion.set_progress(epoch)

    def forward(self, outputs, labels):
        terms = self.criterion(outputs, labels)
        self.calls += 1
        return terms | {"total": terms["total"] * math.nan} if self.calls in self.bad else terms


@pytest.fixture
def faults(monkeypatch):
    """Called with the calls (from 1) whose loss is to be nan."""
    build = train.build_criterion
    return lambda *bad: monkeypatch.setattr(train, "build_criterion", lambda *args: Faulty(build(*args), bad))


def step_on(model, images, total):
    """One SGD step whose loss is `total(logits)`; True if it was applied."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    precision = Precision.build("off", torch.device("cpu"))
    batch = {"image": images, "label": torch.zeros(len(images), dtype=torch.int64)}
    return train_step(model, lambda x, _: {"total": total(x)}, optimizer, [batch], precision, torch.device("cpu"))[1]


@pytest.mark.parametrize(
    "total",
    [
        lambda x: x.mean() * math.nan,
        lambda x: x.detach().mean() * 0 + math.inf + x.mean(),  # an infinite loss with finite gradients
        lambda x: (x - x).sqrt().mean(),  # a finite loss with infinite gradients
    ],
)
def test_nothing_changes_when_something_is_not_finite(total):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    images = torch.randn(2, 3, 8, 8)
    assert step_on(model, images, lambda x: x.square().mean())
    before = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
    assert not step_on(model, images, total)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    images[0, 0, 0, 0] = math.nan  # reaches the norm's statistics
    assert not step_on(model, images, lambda x: x.square().mean())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("fused", [None, True])
def test_the_scaler_skips_a_first_step_and_lowers_its_scale(fused):
    model, device = nn.Conv2d(3, 4, 3), torch.device("cpu")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
    precision = Precision.build("fp16", device)
    batch = {"image": torch.randn(2, 3, 8, 8), "label": torch.zeros(2, dtype=torch.int64)}

    def step(factor: float) -> bool:
        def criterion(x, _):
            return {"total": x.float().square().mean() * factor}

        return train_step(model, criterion, optimizer, [batch], precision, device)[1]

    scale = precision.scaler.get_scale()
    assert not step(math.inf) and precision.scaler.get_scale() == scale / 2
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items()) and not optimizer.state
    assert step(1e-3)
    assert all(torch.allclose(optimizer.state[p]["momentum_buffer"], p.grad) for p in model.parameters() if not fused)
    expected = model.bias - before["bias"]
    torch.testing.assert_close(expected.detach(), -0.1 * optimizer.state[model.bias]["momentum_buffer"])


def test_a_skipped_step_is_said_and_counted(scenes, tmp_path, faults, capfd):
    faults(2, 3)
    assert train.main(train_args(scenes, tmp_path, "--ema", "0.9")) == 0
    out = capfd.readouterr().out
    assert "step 2: loss or gradient not finite (rank 0" in out and "skipped, 2 in a row" in out
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("skipped_steps") for line in lines] == [2, None]
    assert all(math.isfinite(line["train_loss"]) for line in lines)
    snapshot = load_snapshot(tmp_path / "run" / "last.pth")
    assert all(torch.isfinite(value).all() for value in snapshot["model"].values())
    assert all(torch.isfinite(value).all() for value in snapshot["average"].values())


def test_an_epoch_of_skipped_steps(scenes, tmp_path, faults):
    faults(1, 2, 3, 4)
    assert train.main(train_args(scenes, tmp_path)) == 0
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["train_loss"] is None and first["skipped_steps"] == 4


def test_too_many_in_a_row_end_the_run(scenes, tmp_path, faults, capfd):
    faults(2, 4, 5, 6)  # the count begins anew at step 3
    arguments = train_args(scenes, tmp_path, "--max_skipped_steps", "3", "--save_every", "1")
    assert train.main(arguments) == 6
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: step 6: loss or gradient not finite (rank 0: ") and "total nan" in error
    assert "samples 0" in error and "--lr" in error
    snapshot = load_snapshot(tmp_path / "run" / "last.pth")
    assert snapshot["training"]["state"]["step"] == 5  # and going on is possible
    faults()
    assert train.main([*arguments, "--max_steps", "6"]) == 0


def test_the_count_survives_a_resume(scenes, tmp_path, faults):
    faults(2, 3)
    arguments = train_args(scenes, tmp_path, "--max_skipped_steps", "3")
    assert train.main([*arguments, "--max_steps", "3"]) == 0
    faults(1)
    assert train.main(arguments) == 6


RANK_1_IS_ILL = """
    import os, sys
    import train
    from tests.test_numerics import Faulty
    build = train.build_criterion
    bad = (2,) if os.environ["RANK"] == "1" else ()
    train.build_criterion = lambda *args: Faulty(build(*args), bad)
    sys.exit(train.main(sys.argv[1:]))
"""


def test_all_ranks_decide_alike(scenes, tmp_path):
    (tmp_path / "ill.py").write_text(textwrap.dedent(RANK_1_IS_ILL))
    done = launch([str(tmp_path / "ill.py"), *train_args(scenes, tmp_path, "--max_steps", "4")], processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 2: loss or gradient not finite (rank 1: main ") == 1
    state = load_snapshot(tmp_path / "run" / "last.pth")["model"]
    assert weights_sha256(state) in done.stdout + done.stderr
