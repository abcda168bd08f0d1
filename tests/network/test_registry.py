import json

import pytest
import torch
from torch import nn

import network
from engine.checkpoint import load_pretrained
from network.parts.enhancement import FeatureFilter, reflect_by_selecting
from utils.errors import CheckpointError, OptionError


def test_names_errors_and_aliases():
    assert {"fenet_r18", "fenet_r50", "fenet_r101"} <= set(network.list_models())
    with pytest.raises(OptionError, match="fenet_r18"):
        network.build_model("resnet", 3)
    with pytest.raises(OptionError, match="os.system"):
        network.build_model("os.system", 3)
    with pytest.raises(OptionError, match="wings"):
        network.build_model("fenet_tiny", 3, wings=2)
    with pytest.raises(OptionError, match="at least 1"):
        network.build_model("fenet_tiny", 0)
    old = network.build_model("network.fenet_resnet_conv_2b_2d.DeepR18_FE_deeply", 3)
    assert old.config == {"arch": "fenet_r18", "num_classes": 3, "options": {"aux": False}}
    assert len(old.aux_heads) == 0


@pytest.mark.parametrize("name", network.registry.MODELS)
def test_every_option_has_a_default_that_config_json_can_hold(name):
    defaults = {key: item.default for key, item in network.registry.model_options(name).items()}
    assert json.loads(json.dumps(defaults)) == defaults
    assert defaults.get("channels", 64) in (64, 128, 256)  # a builder's own wins over the class's


def test_config_rebuilds_the_model():
    model = network.build_model("fenet_tiny", 3, channels=8, boundary=True, structure="smooth")
    config = model.config
    again = network.build_model(config["arch"], config["num_classes"], **config["options"])
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert again.fem_s[0].filter.smooth and not again.fem_d[0].filter.smooth


def test_norm_layer_is_an_argument():
    model = network.build_model("fenet_tiny", 3, norm_layer=lambda channels: nn.GroupNorm(4, channels))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_boundary_head():
    model = network.build_model("fenet_tiny", 3, boundary=True)
    boundary = model.train()(torch.randn(2, 3, 64, 64))["boundary"]
    assert boundary.shape == (2, 1, 16, 16) and 0 < boundary.min() and boundary.max() < 1


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_folded_filter_is_x_minus_its_convolution(padding):
    layer = FeatureFilter(5, 9, padding)
    nn.init.normal_(layer.weight)
    x = torch.randn(2, 5, 20, 23, requires_grad=True)
    plain = nn.Conv2d(5, 5, 9, padding=4, padding_mode=padding, groups=5, bias=False)
    plain.weight.data.copy_(layer.weight.data)
    torch.testing.assert_close(layer(x), x - plain(x), rtol=1e-4, atol=1e-4)
    layer(x).square().sum().backward()
    (x - plain(x)).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad, rtol=1e-3, atol=1e-2)


def test_selecting_rows_and_columns_reflects_with_the_same_gradient():
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 14, 16, dtype=torch.float64)
    padded = [reflect_by_selecting(x, 4), nn.functional.pad(x, [4] * 4, mode="reflect")]
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in padded]
    assert torch.equal(*padded)
    torch.testing.assert_close(*gradients)


def test_fresh_filter_removes_the_mean_inside():
    x = torch.full((1, 2, 20, 20), 3.0)
    response = FeatureFilter(2)(x)
    assert response[..., 4:-4, 4:-4].abs().max() < 1e-5
    assert response[..., 0, 0].abs().min() > 1  # zero padding answers at the border
    assert FeatureFilter(2, padding="reflect")(x).abs().max() < 1e-5


def test_initial_weights():
    model = network.build_model("fenet_tiny", 3)
    weight = model.encoder.layer4[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.02)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.eps, m.momentum) == (1e-5, 0.1) and m.weight.min() == m.weight.max() == 1 for m in norms)


def test_pretrained_from_a_file(tmp_path):
    source, model = network.build_model("fenet_tiny", 3), network.build_model("fenet_tiny", 5)
    weights = source.encoder.state_dict()
    torch.save({**weights, "fc.weight": torch.ones(2)}, tmp_path / "encoder.pth")
    report = load_pretrained(model, str(tmp_path / "encoder.pth"))
    assert report.complete and torch.equal(model.encoder.conv1[0].weight, source.encoder.conv1[0].weight)
    del weights["conv1.0.weight"]
    torch.save(weights, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="--partial"):
        load_pretrained(model, str(tmp_path / "part.pth"))
    assert load_pretrained(model, str(tmp_path / "part.pth"), partial=True).missing == ["conv1.0.weight"]
    with pytest.raises(OptionError, match="timm"):
        load_pretrained(model, "no-such-thing")
    with pytest.raises(OptionError, match="no twin"):
        load_pretrained(network.build_model("fenet_r18", 3), "imagenet")
