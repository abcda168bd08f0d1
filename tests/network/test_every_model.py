"""What holds for every registered model: shapes in both modes, a snapshot that rebuilds it, keys of the releases."""

import itertools

import pytest
import torch

import network
from engine.checkpoint.loading import load_model
from engine.checkpoint.snapshot import save_snapshot
from engine.inference.predictor import build_predictor
from network.registry import EXTRAS
from tests.conftest import THREE_CLASSES
from utils.errors import OptionError

SIZES = ((64, 64), (65, 91))
CLASSES = (1, 2, 3, 4)
LARGE = ("r50", "r101")


def build(arch, num_classes):
    torch.manual_seed(0)
    backbone = {"backbone": "test_resnet"} if arch in EXTRAS else {}
    return network.build_model(arch, num_classes, **backbone)


@pytest.mark.parametrize("arch", network.list_models())
def test_both_modes(arch):
    cases = zip(itertools.cycle(SIZES), CLASSES, strict=False)
    for size, num_classes in [(SIZES[1], 3)] if arch.endswith(LARGE) else cases:
        model, images = build(arch, num_classes), torch.randn(2, 3, *size)
        with torch.no_grad():
            outputs = model.eval()(images)
            assert set(outputs) == {"logits"} and outputs["logits"].shape[:2] == (2, num_classes)
            stride = next(n for n in (1, 2, 4, 8, 16, 32) if -(-size[0] // n) == outputs["logits"].shape[2])
            assert tuple(outputs["logits"].shape[2:]) == tuple(-(-side // stride) for side in size)
            assert torch.equal(model(images)["logits"], outputs["logits"])
            assert build_predictor(model)(images).shape == (2, num_classes, *size)
        trained = model.train()(images)
        heads = trained.get("aux", [])
        assert [aux.shape[1] for aux in heads] == [num_classes] * len(model.aux_heads)
        (trained["logits"].sum() + sum(aux.sum() for aux in heads)).backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without  # several processes would wait for them


@pytest.mark.parametrize("arch", network.list_models())
def test_a_snapshot_rebuilds_it(arch, tmp_path):
    model = build(arch, 3)
    if not arch.endswith(LARGE):
        model.train()(torch.randn(2, 3, 65, 91))  # moves the norms' statistics
    header = {"config": model.config, "classes": THREE_CLASSES, "average": None}
    save_snapshot(tmp_path / "a.pth", header | {"model": model.state_dict()})
    again, _, report = load_model(tmp_path / "a.pth")
    assert report.complete
    assert (again.encoder.mean, again.encoder.std) == (model.encoder.mean, model.encoder.std)
    images = torch.randn(1, 3, 65, 91)
    with torch.no_grad():
        assert torch.equal(again(images)["logits"], model.eval()(images)["logits"])


@pytest.mark.parametrize("arch", network.list_models())
def test_keys_of_the_releases(arch):
    model = build(arch, 3)
    if arch in EXTRAS:
        with pytest.raises(OptionError, match="no counterpart"):
            network.release_key_map(model)
        return
    key_map = network.release_key_map(model)
    ours = [key for key in model.state_dict() if arch.startswith("fenet") or not key.startswith("aux_heads.")]
    assert sorted(key_map.values()) == sorted(ours) and len(set(key_map)) == len(key_map)
