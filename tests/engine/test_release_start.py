"""Old dotted names start from ImageNet weights in the releases: here from the file that lies there, or they say so."""

import logging

import pytest
import torch

import config
import network
from engine.training.build import load_start
from utils.errors import CheckpointError
from utils.logging import get_logger

R18 = "network.fenet_resnet_conv_2b_2d.DeepR18_FE_deeply_completely"


@pytest.fixture(scope="module")
def model():
    return network.build_model("fenet_r18", 3)


@pytest.fixture
def start(model, tmp_path, monkeypatch, caplog):
    """Starts a run in an empty folder; returns what it logs, as (level, text)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(get_logger(), "propagate", True)

    def run(*argv: str) -> list[tuple[str, str]]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "fenet"):
            load_start(config.parse_train(argv), model, ("a", "b", "c"))
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return run


def save_stem(path, model) -> None:
    """A classifier on the model's encoder, as the authors of SFNet keep theirs."""
    path.parent.mkdir(exist_ok=True)
    weights = {name: torch.full_like(value, 2) for name, value in model.encoder.state_dict().items()}
    torch.save(weights | {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}, path)


def test_without_a_file_a_warning_names_the_options(start):
    ((level, text),) = start("--arch", R18)
    assert level == "WARNING" and "starting from random weights" in text
    assert all(word in text for word in ("--pretrained FILE", "resnet18-deep-stem", "pretrained_models", "--snapshot"))
    assert start("--arch", "fenet_r18") == [("INFO", "starting from random weights; see --pretrained and --snapshot")]


def test_a_deep_stem_file_that_lies_there_is_used(start, tmp_path, model):
    folder = tmp_path / "pretrained_models"
    save_stem(folder / "resnet18-deep-stem-pytorch.pth", model)
    for other in ("resnet101-deep-stem.pth", "resnet18-5c106cde.pth", "resnet18-deep-stem.txt"):
        (folder / other).touch()
    (level, used), (_, loaded) = start("--arch", R18)
    assert level == "INFO" and used.startswith(
        "pretrained_models/resnet18-deep-stem-pytorch.pth: used as the release does"
    )
    assert "138 of 138 encoder tensors loaded" in loaded and model.encoder.conv1[0].weight.eq(2).all()
    assert model.config["pretrained"]["source"] == "pretrained_models/resnet18-deep-stem-pytorch.pth"
    assert [level for level, _ in start("--arch", "fenet_r18")] == ["INFO"]  # only where a release would

    save_stem(folder / "resnet18-deep-inplane128.pth", model)
    assert "also there: pretrained_models/resnet18-deep-stem-pytorch.pth" in start("--arch", R18)[0][1]
    (folder / "resnet18-deep-inplane128.pth").write_bytes(b"an error page")
    with pytest.raises(CheckpointError, match="resnet18-deep-inplane128.pth"):
        start("--arch", R18)
