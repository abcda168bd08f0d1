"""The options that ablations vary."""

import pytest
import torch
from torch import nn

import network
from network.options import ModelOptions
from network.parts.enhancement import FeatureFilter
from reference.network import plain_filter
from utils.errors import OptionError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def build(**options) -> nn.Module:
    torch.manual_seed(0)
    return network.build_model("fenet_tiny", 3, channels=8, **options)


def stepped(model: nn.Module) -> nn.Module:
    """The model after one step of SGD on arbitrary gradients."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    model.train()(IMAGES)["logits"].square().mean().backward()
    optimizer.step()
    return model


@pytest.mark.parametrize("smooth", [False, True])
def test_zero_sum_filter_never_sees_a_constant(smooth):
    layer = FeatureFilter(4, 5, "reflect", smooth, "zero_sum")
    nn.init.normal_(layer.weight)
    constant = torch.randn(1, 4, 1, 1).expand(1, 4, 9, 9)
    torch.testing.assert_close(layer(constant), constant if smooth else torch.zeros(1, 4, 9, 9), atol=1e-4, rtol=1e-4)


def test_a_fresh_filter_is_the_same_whatever_its_weights():
    outputs = [build(filter_weights=kind).eval()(IMAGES)["logits"] for kind in ("trainable", "frozen", "zero_sum")]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    torch.testing.assert_close(outputs[0], outputs[2], rtol=1e-4, atol=1e-5)


def test_what_training_does_to_the_filter():
    sums = {}
    for kind in ("trainable", "frozen", "zero_sum"):
        layer = stepped(build(filter_weights=kind)).fem_d[0].filter
        moved = (layer.weight - 1 / 81).abs().max() > 1e-7
        assert moved == (kind != "frozen")
        sums[kind] = layer.kernel().sum(dim=(1, 2, 3)).abs().max().item()
    assert sums["zero_sum"] < 1e-5 < sums["trainable"]


def test_plain_filter_knows_zero_sum():
    layer = FeatureFilter(4, 5, weights="zero_sum")
    nn.init.normal_(layer.weight)
    x = torch.randn(1, 4, 9, 11)
    torch.testing.assert_close(layer(x), plain_filter(layer, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("off", [("fem_d",), ("fem_s",), ("fem_d", "fem_s")])
def test_modules_left_out(off):
    model = build(**dict.fromkeys(off, False))
    keys = model.state_dict().keys()
    assert not any(key.startswith(off) for key in keys)
    assert len(keys) < len(build().state_dict())
    assert sorted(network.release_key_map(model).values()) == sorted(keys)
    stepped(model)
    untrained = [name for name, p in model.named_parameters() if p.grad is None and not name.startswith("aux_heads")]
    assert not untrained  # DDP would wait for their gradients


def test_levels_pass_unchanged_without_modules():
    model = build(fem_d=False, fem_s=False).eval()
    with torch.no_grad():
        features = model.encoder(IMAGES)
        levels = model.decode(features)
        reduced = model.reduce[0](features[0])
    torch.testing.assert_close(levels[0], reduced)


@pytest.mark.parametrize("off", [{}, {"fem_s": False}, {"fem_d": False}])
def test_a_narrow_finest_level(off):
    model = build(fine_channels=3, **off)
    with torch.no_grad():
        levels = model.eval().decode(model.encoder(IMAGES))
    assert [level.shape[1] for level in levels] == [3, 8, 8, 8] and levels[0].shape[-1] == 16
    stepped(model)
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("aux_heads"))
    with pytest.raises(OptionError, match="no counterpart in the releases"):
        network.release_key_map(model)
    with pytest.raises(OptionError, match="--model_args fine_channels=0: must be at least 1"):
        build(fine_channels=0)


def test_values_that_are_not_there():
    with pytest.raises(OptionError, match="filter_weights.*zero_sum"):
        build(filter_weights="wild")
    with pytest.raises(OptionError, match="fem_d"):
        network.build_model("sfnet_lite_r18", 3, fem_d=False)


@pytest.mark.parametrize(
    ("options", "norm"),
    [
        ({}, None),
        ({"syncbn": True}, "sync"),
        ({"syncbn": True, "norm": "group"}, "group"),
        ({"syncbn": True, "fix_bn": True}, "frozen"),
    ],
)
def test_norms_that_are_asked_for(options, norm):
    assert ModelOptions(**options).wanted_norm == norm
