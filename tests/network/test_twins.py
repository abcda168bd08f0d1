"""The deep-stem encoders against timm's twins of the same keys."""

import pytest
import torch

import network
from engine.checkpoint import load_pretrained
from engine.checkpoint.pretrained_hubs import TIMM_TWINS
from utils.optional import import_torchvision


@pytest.mark.parametrize(("arch", "depth"), [("fenet_r50", 50), ("fenet_r101", 101)])
def test_timm_twin_has_the_same_keys_and_shapes(arch, depth):
    import_torchvision()
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        twin = timm.create_model(TIMM_TWINS[depth], pretrained=False)
        model = network.build_model(arch, 3)
    ours = {name: value.shape for name, value in model.encoder.state_dict().items()}
    theirs = {name: value.shape for name, value in twin.state_dict().items() if not name.startswith("fc.")}
    assert ours == theirs and model.encoder.depth == depth


def test_undilated_stages_give_the_twins_features():
    """Stages 1 and 2 have no dilation, so their features are timm's to the last bits."""
    import_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    twin = timm.create_model(TIMM_TWINS[50], pretrained=False, features_only=True, out_indices=(1, 2)).eval()
    encoder = network.build_model("fenet_r50", 3).encoder.eval()
    encoder.load_state_dict({**encoder.state_dict(), **twin.state_dict()})
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(encoder(images)[:2], twin(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_torchvision_weights_of_r18_fit_but_the_stem(tmp_path):
    """`--pretrained torchvision --partial` for R18, with an untrained ResNet-18 in the place of the download."""
    resnet = import_torchvision().models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    model = network.build_model("fenet_r18", 3)
    report = load_pretrained(model, str(tmp_path / "resnet18.pth"), partial=True)
    assert {name.split(".")[0] for name in report.missing + report.mismatched} == {"conv1", "bn1", "layer1"}
    assert torch.equal(model.encoder.layer4[1].conv2.weight, resnet.layer4[1].conv2.weight)
    assert all(name.split(".")[1] == "0" for name in report.missing + report.mismatched if name.startswith("layer1"))
