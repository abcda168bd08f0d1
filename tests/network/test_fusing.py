import pytest
import torch
from torch import nn

import network
from engine.inference.predictor import build_predictor
from network.fusing import ImageToLabels, find_pairs, fuse_for_inference
from network.parts.enhancement import FeatureFilter
from tests.conftest import shake, untrained
from transforms import build_eval_transform
from utils.errors import DataError


def difference(model: nn.Module, fused: nn.Module, size: tuple[int, int]) -> float:
    """Largest difference of the logits, relative to the largest logit."""
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        logits, again = model(images)["logits"], fused(images)["logits"]
    return ((logits - again).abs().max() / logits.abs().max()).item()


@pytest.mark.parametrize("arch", [arch for arch in network.list_models() if not arch.endswith(("r50", "r101"))])
def test_every_model_is_the_same_folded(arch):
    model = shake(network.build_model(arch, 3)).eval()
    fused = fuse_for_inference(model)
    assert difference(model, fused, (65, 91)) < 1e-4
    assert difference(model, fused.to(memory_format=torch.channels_last), (64, 96)) < 1e-4
    assert not any(isinstance(module, FeatureFilter) for module in fused.modules())
    left = sum(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    if arch.startswith(("fenet_", "sfnet_")):
        assert left == (6 if arch.startswith("fenet_") else 0)  # FEM's norm stands behind an addition


@pytest.mark.parametrize(
    "options",
    [
        {"filter_padding": "reflect", "filter_kernel": 5, "structure": "smooth"},
        {"filter_padding": "reflect", "filter_kernel": 13},
        {"filter_weights": "zero_sum", "boundary": True},
        {"fem_d": False, "fem_s": False, "aux": False},
    ],
)
def test_options_are_folded_too(options):
    model = shake(network.build_model("fenet_tiny", 3, channels=8, **options)).eval()
    size = (225, 226) if options.get("filter_kernel") == 13 else (97, 130)
    assert difference(model, fuse_for_inference(model), size) < 1e-4


def test_an_image_that_is_too_small_for_reflection_is_said():
    model = network.build_model("fenet_tiny", 3, channels=8, filter_padding="reflect").eval()
    with torch.no_grad(), pytest.raises(DataError, match="map of 4x5 is too small.*--filter_padding reflect"):
        fuse_for_inference(model)(torch.zeros(1, 3, 120, 160))


def test_the_model_itself_stays():
    model = shake(network.build_model("fenet_tiny", 3, channels=8, boundary=True)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fused = fuse_for_inference(model)
    assert model.training and not fused.training and len(model.aux_heads) == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(name.startswith(("aux_heads", "boundary_head")) for name in fused.state_dict())
    assert not any(parameter.requires_grad for parameter in fused.parameters())


class Branches(nn.Module):
    """Only `alone` and its norm can be fused: each other norm or convolution has a second use."""

    def __init__(self) -> None:
        super().__init__()
        self.alone, self.read_twice, self.called_twice, self.rectified = (nn.Conv2d(3, 3, 1) for _ in range(4))
        self.norm_alone, self.norm_read, self.norm_called, self.norm_rectified = (nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, x: torch.Tensor) -> dict:
        x = self.norm_alone(self.alone(x))
        y = self.read_twice(x)
        x = self.norm_read(y) + y
        x = self.called_twice(self.norm_called(self.called_twice(x)))
        return {"logits": self.norm_rectified(self.rectified(x).relu_())}


def test_what_has_another_use_is_not_folded():
    model = shake(Branches()).eval()
    assert find_pairs(model) == [("alone", "norm_alone")]
    assert difference(model, fuse_for_inference(model), (5, 7)) < 1e-5


def test_labels_are_those_of_the_predictor():
    model = untrained("fenet_tiny", 5, channels=8)
    images = torch.randint(0, 256, (2, 65, 91, 3), dtype=torch.uint8)
    transform = build_eval_transform(model.encoder.mean, model.encoder.std)
    normalised = torch.stack([transform({"image": image.numpy()}, None)["image"] for image in images])
    with torch.no_grad():
        labels = ImageToLabels(fuse_for_inference(model))(images)
    expected = build_predictor(model, merge="logit")(normalised).argmax(1)
    assert labels.dtype == torch.uint8 and labels.shape == (2, 65, 91) and len(labels.unique()) > 1
    assert (labels != expected).double().mean() < 1e-3


@pytest.mark.parametrize("arch", ["fenet_tiny", "sfnet_lite_r18"])
def test_a_model_that_recomputes_is_folded_too(arch):
    model = shake(network.build_model(arch, 3)).eval()
    expected = fuse_for_inference(model)
    fused = fuse_for_inference(network.checkpoint_activations(model))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(fused(images)["logits"], expected(images)["logits"])
    assert fused.state_dict().keys() == expected.state_dict().keys()
