"""The stages of encoders, by which rates fall."""

import pytest
import torch
from torch import nn

from config import parse_train
from engine.training.build import create_model
from engine.training.stages import stages_with_rates
from network.encoders.stages import encoder_stages
from network.registry import EXTRAS
from utils.errors import OptionError


@pytest.mark.parametrize("options", ["fenet_tiny", "fenet --backbone test_resnet", "smp_fpn --backbone test_resnet"])
def test_a_map_comes_from_its_stage_and_those_before(options):
    if package := EXTRAS.get(options.split()[0]):
        pytest.importorskip(package)
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
