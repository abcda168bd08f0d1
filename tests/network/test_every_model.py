"""What holds for every registered model: shapes in both modes, a snapshot that rebuilds it, keys of the releases."""

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
DEEP = [arch for arch in network.list_models() if arch.endswith(("r50", "r101"))]
REST = [arch for arch in network.list_models() if arch not in DEEP]
IMAGES = torch.randn(2, 3, 65, 91, generator=torch.Generator().manual_seed(0))


def build(arch, num_classes):
    torch.manual_seed(0)
    backbone = {"backbone": "test_resnet"} if arch in EXTRAS else {}
    return network.build_model(arch, num_classes, **backbone)


def assert_shapes(model, images, num_classes):
    size, logits = images.shape[2:], model.eval()(images)["logits"]
    stride = next(n for n in (1, 2, 4, 8, 16, 32) if -(-size[0] // n) == logits.shape[2])
    assert logits.shape == (2, num_classes, *(-(-side // stride) for side in size))
    heads = model.train()(images).get("aux", [])
    assert [aux.shape[1] for aux in heads] == [num_classes] * len(model.aux_heads)


@pytest.mark.parametrize("arch", DEEP)
def test_shapes_of_deep_models(arch):
    with torch.device("meta"):
        assert_shapes(build(arch, 3), torch.empty(2, 3, *SIZES[1]), 3)


@pytest.mark.parametrize("arch", REST)
@pytest.mark.parametrize(("size", "num_classes"), list(zip(SIZES, (1, 3), strict=True)))
def test_shapes(arch, size, num_classes):
    model = build(arch, num_classes)
    with torch.no_grad():
        assert_shapes(model, torch.randn(2, 3, *size), num_classes)


@pytest.mark.parametrize("arch", REST)
def test_evaluation_repeats_and_training_reaches_every_parameter(arch):
    model = build(arch, 3)
    with torch.no_grad():
        outputs = model.eval()(IMAGES)
        assert set(outputs) == {"logits"}
        assert torch.equal(model(IMAGES)["logits"], outputs["logits"])
        assert build_predictor(model)(IMAGES).shape == (2, 3, 65, 91)
    trained = model.train()(IMAGES)
    (trained["logits"].sum() + sum(aux.sum() for aux in trained.get("aux", []))).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without  # several processes would wait for them


@pytest.mark.slow
@pytest.mark.parametrize("arch", [arch for arch in REST if not arch.startswith("smp_")])
def test_the_compiler_makes_one_graph(arch):
    torch._dynamo.reset()
    model = torch.compile(build(arch, 3).train(), backend="eager", dynamic=False, fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(IMAGES)["logits"].dtype == torch.bfloat16


@pytest.mark.parametrize("arch", REST)
def test_a_snapshot_rebuilds_it(arch, tmp_path):
    model = build(arch, 3)
    model.train()(IMAGES)  # moves the norms' statistics
    header = {"config": model.config, "classes": THREE_CLASSES, "average": None}
    save_snapshot(tmp_path / "a.pth", header | {"model": model.state_dict()})
    again, _, report = load_model(tmp_path / "a.pth")
    assert report.complete
    assert (again.encoder.mean, again.encoder.std) == (model.encoder.mean, model.encoder.std)
    with torch.no_grad():
        assert torch.equal(again(IMAGES)["logits"], model.eval()(IMAGES)["logits"])


@pytest.mark.parametrize("arch", network.list_models())
def test_keys_of_the_releases(arch):
    with torch.device("meta"):
        model = build(arch, 3)
    if arch in EXTRAS or not hasattr(model, "release_key_map"):
        with pytest.raises(OptionError, match="no counterpart"):
            network.release_key_map(model)
        return
    key_map = network.release_key_map(model)
    ours = [key for key in model.state_dict() if arch.startswith("fenet") or not key.startswith("aux_heads.")]
    assert sorted(key_map.values()) == sorted(ours) and len(set(key_map)) == len(key_map)
