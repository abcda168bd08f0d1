"""FENet and SFNet on encoders of timm: sizes, widths, gradients, and what is refused."""

import sys

import pytest
import torch
from torch import nn

import network
from network.encoders.timm_encoder import STRIDES, TimmEncoder, inspect_encoder
from network.foreign import freeze_unused
from network.parts.sync_norm import SyncNorm
from utils.errors import EnvironmentFault, OptionError
from utils.optional import import_torchvision

import_torchvision()
timm = pytest.importorskip("timm")

# convolutional, with TensorFlow's padding, patches, gated, channels last, and without batch norms
FAMILIES = ("test_resnet", "tf_efficientnet_lite0", "mobilenetv4_conv_small", "test_convnext", "regnety_002")
FAMILIES += ("mobilenetv3_small_050", "mambaout_femto", "test_nfnet")


@pytest.mark.parametrize("backbone", FAMILIES)
def test_maps_have_the_sizes_and_widths_that_are_promised(backbone):
    encoder = TimmEncoder(backbone).eval()
    for size in ((64, 96), (65, 91), (33, 47)):
        with torch.no_grad():
            maps = encoder(torch.randn(1, 3, *size))
        expected = [(w, -(-size[0] // s), -(-size[1] // s)) for w, s in zip(encoder.channels, STRIDES, strict=True)]
        assert [tuple(x.shape[1:]) for x in maps] == expected


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "mambaout_femto"])
def test_maps_are_those_of_timm(backbone):
    encoder = TimmEncoder(backbone).eval()
    whole = timm.create_model(backbone, features_only=True).eval()
    whole.load_state_dict(encoder.model.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, theirs = encoder(x), whole(x)[-4:]
    for a, b in zip(ours, theirs, strict=True):
        b = b.permute(0, 3, 1, 2) if backbone == "mambaout_femto" else b
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_patches_are_padded_and_maps_cut():
    encoder = TimmEncoder("test_convnext").eval()
    x = torch.randn(1, 3, 65, 91)
    padded = torch.zeros(1, 3, 96, 96)
    padded[..., :65, :91] = x
    with torch.no_grad():
        for part, whole in zip(encoder(x), encoder(padded), strict=True):
            assert torch.equal(part, whole[..., : part.shape[-2], : part.shape[-1]])


@pytest.mark.parametrize(
    ("arch", "backbone"),
    [("fenet", "mobilenetv3_small_050"), ("sfnet", "test_convnext"), ("sfnet_lite", "test_resnet")],
)
def test_models_on_any_encoder(arch, backbone):
    model = network.build_model(arch, 3, backbone=backbone, channels=16, aux=True)
    assert model.head[0].out_channels == 16 if arch == "fenet" else model.head[0][0].out_channels == 16
    outputs = model.train()(torch.randn(2, 3, 65, 91))
    assert outputs["logits"].shape == (2, 3, 17, 23) and [x.shape[1] for x in outputs["aux"]] == [3, 3]
    torch.stack([x.sum() for x in (outputs["logits"], *outputs["aux"])]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())

    config = model.config
    assert config["options"]["backbone"] == backbone and len(config["options"]["mean"]) == 3
    again = network.build_model(config["arch"], config["num_classes"], **config["options"])
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.eval()(x)["logits"], model.eval()(x)["logits"])


def test_decoder_width_and_encoder_have_defaults():
    model = network.build_model("fenet", 3)
    assert model.config["options"]["backbone"] == "resnet18" and model.head[0].out_channels == 128


def test_input_scale_follows_the_encoder():
    assert TimmEncoder("tf_efficientnet_lite0").mean == (0.5, 0.5, 0.5)
    assert TimmEncoder("test_resnet", mean=[0.1] * 3, std=[0.2] * 3).std == (0.2, 0.2, 0.2)
    model = network.build_model("fenet", 3, backbone="test_resnet", mean=[0.1] * 3)
    assert model.config["options"]["mean"] == [0.1] * 3


def test_swin_takes_images_of_any_size():
    plan = inspect_encoder("swin_tiny_patch4_window7_224")
    assert plan.multiple == 32 and plan.options
    assert inspect_encoder("vgg11").indices == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("test_vit", r"strides \[16\].*4, 8, 16, 32.*resnet18"),
        ("maxvit_tiny_tf_224", "any size.*resnet18"),
        ("legacy_xception", "other sizes than their strides"),
        ("resnet19", "no such encoder; close names: resnet"),
        ("resnet18.nope", "nope"),
        ("hf-hub:timm/resnet18.a1_in1k", "no such encoder"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(backbone, words):
    with pytest.raises(OptionError, match=f"--backbone {backbone}: .*{words}"):
        network.build_model("fenet", 3, backbone=backbone)


def test_backbone_of_a_model_with_its_own_encoder():
    with pytest.raises(OptionError, match="--backbone: fenet_r18 has an encoder of its own; .*--arch .*fenet, sfnet"):
        network.build_model("fenet_r18", 3, backbone="resnet18")


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    inspect_encoder.cache_clear()
    assert "fenet" not in network.list_models() and "fenet_r18" in network.list_models()
    with pytest.raises(EnvironmentFault, match=r"timm.*pip install -r requirements-extras.txt"):
        network.build_model("fenet", 3, backbone="test_resnet")


def test_no_release_has_these_encoders():
    with pytest.raises(OptionError, match="no counterpart"):
        network.release_key_map(network.build_model("sfnet", 3, backbone="test_resnet", channels=8))


def test_synchronised_norms_keep_timms_activations():
    model = network.build_model("fenet", 3, backbone="mobilenetv3_small_050", channels=8).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(x)["logits"]
        model = network.synchronise_norms(model)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        assert any(isinstance(module, SyncNorm) for module in model.encoder.modules())
        torch.testing.assert_close(model(x)["logits"], before)


def test_parameters_without_a_part_in_the_result_are_frozen():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            self.idle(x)
            return {"logits": self.used(x)}

    pair = Pair()
    assert freeze_unused(pair) == ["idle.weight", "idle.bias"]
    assert pair.used.weight.requires_grad and not pair.idle.weight.requires_grad
