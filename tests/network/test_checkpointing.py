"""Parts that are computed again in the backward pass: same step, less memory."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

import network
from engine.training.memory import saved_bytes
from network.recompute import Unit, checkpoint_activations
from utils.errors import OptionError


def criterion(outputs, labels):
    maps = [outputs["logits"], *outputs.get("aux", ())]
    return {"total": sum(x.float().square().mean() for x in maps)}


def step(arch: str, checkpointed: bool, amp: bool = False, **options) -> dict:
    """What one forward and backward pass leaves."""
    torch.manual_seed(0)
    model = network.build_model(arch, 5, **options).train()
    keys = list(model.state_dict())
    if checkpointed:
        checkpoint_activations(model)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        loss = criterion(model(torch.randn(2, 3, 64, 64)), None)["total"]
    loss.backward()
    assert list(model.state_dict()) == keys
    left = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    left |= dict(model.named_buffers()) | {"loss": loss.detach(), "rng": torch.get_rng_state()}
    return left | {"saved": torch.tensor(saved_bytes(model, criterion, 5, 2, 64, None))}


needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="needs timm")
OWN = [("fenet_tiny", {}), ("sfnet_r18", {"aux": True}), ("sfnet_lite_r18", {"channels": 32})]
ON_TIMM = [("fenet", {"backbone": "resnet18"}), ("sfnet", {"backbone": "convnext_atto"})]
# hrnet's modules alter the list that they are given
ON_TIMM += [("sfnet_lite", {"backbone": "hrnet_w18_small"})]


@pytest.mark.parametrize(
    ("arch", "options"),
    [*OWN, *(pytest.param(*case, marks=needs_timm) for case in ON_TIMM)],
    ids=lambda value: value if isinstance(value, str) else value.get("backbone", "own"),
)
def test_a_step_is_the_same_and_saves_less_than_half(arch, options):
    plain, light = step(arch, False, **options), step(arch, True, **options)
    assert plain.keys() == light.keys()
    saved = [int(left.pop("saved")) for left in (plain, light)]
    assert all(torch.equal(value, light[name]) for name, value in plain.items())
    assert saved[1] < 0.5 * saved[0]
    if arch == "fenet_tiny":
        assert saved[1] < 0.25 * saved[0]


def test_mixed_precision():
    plain, light = step("fenet_tiny", False, amp=True), step("fenet_tiny", True, amp=True)
    assert all(torch.equal(value, light[name]) for name, value in plain.items() if name != "saved")


class Part(nn.Module):
    """Norms of every kind of statistics, dropout, and a keyword."""

    def __init__(self):
        super().__init__()
        self.norm, self.mean_of_all = nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=None)
        self.frozen = nn.BatchNorm2d(4)
        self.conv, self.dropout = nn.Conv2d(4, 4, 1), nn.Dropout2d(0.5)
        self.calls = 0

    def forward(self, x, *, factor):
        self.calls += 1
        x = self.conv(self.dropout(self.frozen(self.norm(x))))
        return self.mean_of_all(x * factor).relu()

    def checkpoint_units(self):
        return [Unit.of(self)]


def test_norms_move_once_and_dropout_repeats():
    left = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        part = Part().train()
        part.frozen.eval()
        if checkpointed:
            checkpoint_activations(part)
        for _ in range(3):
            out = part(torch.randn(6, 4, 5, 5), factor=torch.tensor(2.0))
            torch.rand(3)  # what others draw between the two passes
            out.square().mean().backward()
        left.append([*(p.grad for p in part.parameters()), *part.buffers(), out.detach()])
        assert part.calls == (6 if checkpointed else 3)
    assert all(map(torch.equal, *left))
    assert part.norm.num_batches_tracked == 3 and part.frozen.num_batches_tracked == 0


def test_nothing_is_computed_again_without_training():
    part = checkpoint_activations(Part().eval())
    part(torch.randn(2, 4, 5, 5), factor=1.0).sum().backward()
    with torch.no_grad():
        part.train()(torch.randn(2, 4, 5, 5), factor=1.0)
    assert part.calls == 2


def test_models_that_do_not_say_what_can_be_computed_again():
    with pytest.raises(OptionError, match="--checkpoint_activations: Linear"):
        checkpoint_activations(nn.Linear(1, 1))
