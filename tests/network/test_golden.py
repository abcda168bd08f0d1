"""The networks reach the reference figures of tests/golden in float64, weights loaded through the release's keys."""

from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import network
from loss import OhemCrossEntropy
from tests.golden_vectors import load, vectors

MODULES = {"fenet": "network.fenet_resnet_conv_2b_2d.", "sfnet": "network.sfnet_resnet."}
RELEASES = {MODULES[file] + name: row for file in MODULES for name, row in load(file).items()}
SIZE = (128, 256)
TRAINED = (".weight", ".bias")


def build(name: str) -> nn.Module:
    row = RELEASES[name]
    model = network.build_model(name, 19).double()
    key_map = network.release_key_map(model)
    shapes = row["keys"]
    state = {ours: torch.tensor(vectors.fill(key, tuple(shapes[key]), 0)) for key, ours in key_map.items()}
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


@pytest.mark.parametrize("name", RELEASES)
def test_keys_shapes_and_parameter_count(name):
    row = RELEASES[name]
    with torch.device("meta"):
        model = network.build_model(name, 19)
    key_map = network.release_key_map(model)
    state = model.state_dict()
    used = {key: shape for key, shape in row["keys"].items() if not key.startswith(model.release_unused)}
    assert {key: list(state[ours].shape) for key, ours in key_map.items()} == used
    assert sorted(key_map.values()) == sorted(state)
    unused = sum(prod(row["keys"][key]) for key in row["keys"].keys() - used.keys() if key.endswith(TRAINED))
    assert sum(parameter.numel() for parameter in model.parameters()) == row["params"] - unused


# the deep ones take a quarter of a minute each
DEEP = [pytest.param(name, marks=pytest.mark.slow) if "R18" not in name else name for name in RELEASES]


@pytest.mark.parametrize("name", DEEP)
def test_logits_and_gradients(name):
    row = RELEASES[name]
    model = build(name)
    images = torch.tensor(vectors.image(2, *SIZE, 0))

    with torch.no_grad():
        logits = F.interpolate(model.eval()(images)["logits"], SIZE, mode="bilinear", align_corners=True)
    expected = torch.tensor(row["eval"]["logits_every_8"], dtype=torch.float64)
    assert (logits[0, :, ::8, ::8] - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert logits.mean().item() == pytest.approx(row["eval"]["mean"], rel=1e-6)
    assert logits.std().item() == pytest.approx(row["eval"]["std"], rel=1e-6)
    histogram = torch.bincount(logits.argmax(1).flatten(), minlength=19)
    assert histogram.tolist() == row["eval"]["argmax_hist"]

    criterion = OhemCrossEntropy(thresh=0.7, min_kept=1000)
    labels = torch.tensor(vectors.labels(2, *SIZE, 0))
    outputs = model.train()(images)
    loss = criterion(outputs["logits"], labels) + sum(criterion(aux, labels) for aux in outputs.get("aux", []))
    loss.backward()
    assert loss.item() == pytest.approx(row["train"]["loss"], rel=1e-6)
    norms = {key: p.grad.norm().item() for key, p in model.named_parameters()}
    for theirs, ours in network.release_key_map(model).items():
        if theirs in row["train"]["grad_l2"]:
            assert norms[ours] == pytest.approx(row["train"]["grad_l2"][theirs], rel=1e-6, abs=1e-10), theirs
    assert len(norms) == sum(not key.startswith(model.release_unused) for key in row["train"]["grad_l2"])
