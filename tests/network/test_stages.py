"""The stages of encoders, by which rates fall."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

import train
from config import parse_train
from engine.checkpoint.snapshot import load_snapshot
from engine.training.build import create_model
from engine.training.stages import freeze_stages, frozen_norms, stages_with_rates
from engine.training.step import batch_norms
from network.encoders.stages import encoder_stages
from network.registry import EXTRAS
from tests.conftest import make_scenes, train_args
from utils.errors import OptionError

TWO = ("--freeze_stages", "2")


@pytest.mark.parametrize("options", ["fenet_tiny", "fenet --backbone test_resnet", "smp_fpn --backbone test_resnet"])
def test_a_map_comes_from_its_stage_and_those_before(options):
    if find_spec(EXTRAS.get(options.split()[0], "torch")) is None:
        pytest.skip("an extra")
    config = parse_train(["--arch", *options.split()])
    encoder = create_model(config, 4).encoder.eval()
    stages = encoder_stages(encoder)
    parameters = [[p for part in stage for p in part.parameters(recurse=False)] for stage in stages]
    assert {id(p) for stage in parameters for p in stage} == {id(p) for p in encoder.parameters()}
    assert len(stages) == 4 and sum(map(len, parameters)) == len(list(encoder.parameters()))
    maps = encoder(torch.randn(1, 3, 64, 64))[-4:]
    for i, seen in enumerate(maps):
        gradients = torch.autograd.grad(seen.sum(), list(encoder.parameters()), allow_unused=True, retain_graph=True)
        used = {id(p) for p, gradient in zip(encoder.parameters(), gradients, strict=True) if gradient is not None}
        assert used == {id(p) for stage in parameters[: i + 1] for p in stage}


def test_rates_by_depth_need_stages():
    model = nn.Module()
    model.encoder = nn.Conv2d(3, 4, 1)
    options = parse_train(["--encoder_lr", "0.5"]).optimizer
    assert stages_with_rates(model, options) == [list(model.encoder.parameters())]
    with pytest.raises(ValueError, match="Conv2d doesn't say where its stages end"):
        encoder_stages(model.encoder)
    with pytest.raises(OptionError, match="--lr_decay_by_depth: Conv2d doesn't say"):
        stages_with_rates(model, parse_train(["--lr_decay_by_depth", "0.5"]).optimizer)
    assert stages_with_rates(model, parse_train([]).optimizer) == []


def test_frozen_stages_stay_and_nothing_else(tmp_path):
    data = make_scenes(tmp_path / "data", 4)
    argv = train_args(data, tmp_path, "--class_uniform_pct", "0", "--max_epoch", "1", "--amp", "off")
    states = {}
    for name, more in {"start": ("--max_steps", "1", "--lr", "1e-30", "--fix_bn"), "free": (), "two": TWO}.items():
        assert train.main([*argv, "--exp", name, *more]) == 0
        states[name] = load_snapshot(tmp_path / name / "last.pth")["model"]
    stays = {key for key, value in states["start"].items() if torch.equal(value, states["two"][key])}
    moves = {key for key, value in states["start"].items() if not torch.equal(value, states["free"][key])}
    first = ("encoder.conv1.", "encoder.bn1.", "encoder.layer1.", "encoder.layer2.")
    frozen = {key for key in moves if key.startswith(first)}
    assert frozen and stays & moves == frozen


def test_frozen_norms_are_those_of_frozen_stages_or_all():
    for argv, expected in (((), 0), (("--freeze_stages", "1"), None), (("--fix_bn", "--freeze_stages", "1"), "all")):
        config = parse_train(["--arch", "sfnet_r18", *argv])
        model = create_model(config, 4)
        found, everything = frozen_norms(model, config.model), batch_norms(model)
        stage = sum(isinstance(part, nn.BatchNorm2d) for part in encoder_stages(model.encoder)[0])
        assert len(found) == (stage if expected is None else len(everything) if expected == "all" else expected)
    if find_spec("segmentation_models_pytorch") is None:
        pytest.skip("an extra")
    options = parse_train(["--arch", "smp_pspnet", "--backbone", "test_resnet", "--freeze_stages", "3"])
    with pytest.raises(OptionError, match="--freeze_stages 3: the encoder of this model has 2"):
        freeze_stages(create_model(options, 4), 3)
