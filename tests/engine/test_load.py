"""From a file to a predictor: what eval.py, demo_folder.py and Python users share."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from datasets.cityscapes import CLASSES
from engine.inference.build import load
from engine.inference.options import PredictOptions
from engine.inference.predictor import build_predictor
from engine.inference.settings import InferenceSettings
from tests.conftest import save_untrained
from transforms import build_eval_transform
from utils.errors import CheckpointError, DataError, OptionError

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A snapshot, the model in it, and a file with its weights alone."""
    folder = tmp_path_factory.mktemp("saved")
    model = save_untrained(folder / "net.pth", "fenet_tiny", CLASSES, "cityscapes", channels=16)
    torch.save(model.state_dict(), folder / "bare.pth")
    return folder, model


@pytest.mark.parametrize("settings", [{}, {"inference_mode": "sliding", "scales": (0.5, 1.0), "merge": "logit"}])
def test_a_snapshot_needs_nothing_but_its_name(saved, settings):
    folder, model = saved
    found = load(PredictOptions(snapshot=str(folder / "net.pth"), amp="off", **settings), CPU)
    assert (found.title, found.classes, found.header["classes"]["dataset"]) == ("fenet_tiny", CLASSES, "cityscapes")
    assert (found.mean, found.std) == (model.encoder.mean, model.encoder.std)
    assert found.report
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in found.predict.predictor.model.encoder.modules())

    mode = {"mode": settings["inference_mode"]} if settings else {}
    options = {name: value for name, value in settings.items() if name != "inference_mode"} | mode
    image = build_eval_transform(found.mean, found.std)({"image": IMAGE}, np.random.default_rng(0))["image"]
    expected = build_predictor(model, **options)(image[None]).argmax(1)[0]
    labels = found.label_image(IMAGE)
    assert labels.dtype == np.uint8 and len(np.unique(labels)) > 1
    assert (labels == expected.numpy()).mean() > 0.999


def test_all_settings_reach_the_predictor(saved):
    settings = InferenceSettings("sliding", 48, 70, 0.1, (0.75, 1.5), True, "exp_softmax", 7, 9999)
    options = dataclasses.asdict(settings)
    options |= {"inference_mode": options.pop("mode"), "sliding_overlap": options.pop("overlap"), "amp": "bf16"}
    predict = load(PredictOptions(snapshot=str(saved[0] / "net.pth"), **options), CPU).predict
    assert (predict.predictor.settings, predict.merge, predict.amp) == (settings, "exp_softmax", torch.bfloat16)


def test_bare_weights_need_arch_and_classes(saved):
    options = PredictOptions(snapshot=str(saved[0] / "bare.pth"))
    with pytest.raises(OptionError, match="--arch and --dataset"):
        load(options, CPU)
    with pytest.raises(CheckpointError):  # its decoder is narrower
        load(dataclasses.replace(options, arch="fenet_tiny"), CPU, CLASSES)


def test_other_classes_are_refused(saved):
    other = dataclasses.replace(CLASSES, names=("x", *CLASSES.names[1:]))
    with pytest.raises(CheckpointError, match="was trained on 19 classes"):
        load(PredictOptions(snapshot=str(saved[0] / "net.pth")), CPU, other)


def test_large_images_are_named(saved):
    found = load(PredictOptions(snapshot=str(saved[0] / "net.pth"), max_pixels=100), CPU)
    with pytest.raises(DataError, match="^a.png: image of 70x48 pixels.*--max_pixels 100"):
        found.label_image(IMAGE, "a.png")
