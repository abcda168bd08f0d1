"""The models of segmentation-models-pytorch behind our interface."""

import sys

import pytest
import torch
import torch.nn.functional as F

import network
from network.smp_model import DECODERS, SmpModel
from utils.errors import EnvironmentFault, OptionError
from utils.optional import import_torchvision

import_torchvision()
smp = pytest.importorskip("segmentation_models_pytorch")
STRIDE = {"deeplabv3": 8, "pspnet": 8} | dict.fromkeys(("linknet", "manet", "unet", "unetplusplus"), 1)


@pytest.mark.parametrize("decoder", DECODERS)
def test_peer(decoder):
    model = network.build_model(f"smp_{decoder}", 3, backbone="test_resnet")
    stride = STRIDE.get(decoder, 4)
    for size in ((64, 96), (65, 91)):
        outputs = model.train()(torch.randn(2, 3, *size))
        assert set(outputs) == {"logits"}
        assert outputs["logits"].shape == (2, 3, -(-size[0] // stride), -(-size[1] // stride))
    outputs["logits"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    assert len(model.encoder.mean) == len(model.encoder.std) == 3 and model.aux_heads == ()


@pytest.mark.parametrize("decoder", ["fpn", "deeplabv3plus", "unet", "pan"])
def test_result_is_the_packages_own(decoder):
    model = network.build_model(f"smp_{decoder}", 3, backbone="test_resnet").eval()
    own = smp.create_model(decoder, "tu-test_resnet", encoder_weights=None, classes=3).eval()
    for part, ours in (("encoder", model.encoder), ("decoder", model.decoder), ("segmentation_head.0", model.head)):
        own.get_submodule(part).load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        logits = F.interpolate(model(x)["logits"], (128, 160), mode="bilinear", align_corners=True)
        torch.testing.assert_close(logits, own(x), rtol=1e-4, atol=1e-5)


def test_encoder_is_the_one_of_our_models():
    ours = network.build_model("fenet", 3, backbone="mobilenetv3_small_050", channels=8).encoder
    theirs = network.build_model("smp_fpn", 3, backbone="mobilenetv3_small_050").encoder
    theirs.load_state_dict(ours.state_dict())
    assert (theirs.mean, theirs.std) == (ours.mean, ours.std) and theirs.channels[-4:] == ours.channels
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(theirs.eval()(x)[-1], ours.eval()(x)[-1])


def test_config_rebuilds_the_model():
    model = network.build_model("smp_fpn", 3, backbone="test_resnet", aux=False)
    config = model.config
    again = network.build_model(config["arch"], config["num_classes"], **config["options"])
    again.load_state_dict(model.state_dict())


def test_stages_that_no_decoder_reads_are_not_trained():
    model = network.build_model("smp_pspnet", 3, backbone="test_efficientnet")
    idle = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert idle and all(name.startswith("encoder.model.blocks.") for name in idle)


@pytest.mark.parametrize(
    ("arch", "options", "words"),
    [
        ("smp_fpn", {"aux": True}, "--aux: smp_fpn has no such option"),
        ("smp_fpn", {"filter_kernel": 5}, "--filter_kernel: smp_fpn has no such option; .*fenet"),
        ("smp_fpn", {"backbone": "test_vit"}, "--backbone test_vit: .*strides"),
        ("smp_fpn", {"backbone": "nope"}, "--backbone nope: .*no such encoder"),
        ("smp_deeplabv3plus", {"backbone": "mambaout_femto"}, "smp_deeplabv3plus .*smp_fpn"),
        ("smp_pspnet", {"backbone": "rexnet_100"}, "rexnet_100: doesn't go with smp_pspnet"),
    ],
)
def test_what_does_not_fit_is_refused(arch, options, words):
    with pytest.raises(OptionError, match=words):
        network.build_model(arch, 3, **options)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    assert not [name for name in network.list_models() if name.startswith("smp_")]
    with pytest.raises(EnvironmentFault, match=r"segmentation_models_pytorch.*requirements-extras.txt"):
        network.build_model("smp_fpn", 3)


def test_nothing_is_downloaded(monkeypatch):
    """Not even where weights are smp's default."""

    def refuse(*args, **options):
        raise AssertionError("a download")

    monkeypatch.setattr("socket.socket.connect", refuse)
    SmpModel("fpn", num_classes=2, backbone="test_resnet")
