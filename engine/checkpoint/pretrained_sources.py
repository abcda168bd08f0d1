"""Where ImageNet weights come from: a hub, a package that works offline, a file."""

from pathlib import Path

from torch import nn

from engine.checkpoint.archive import check_file
from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.keys import find_weights, is_lukemelas
from engine.checkpoint.pretrained_hubs import from_timm, from_torchvision
from engine.checkpoint.pretrained_packages import LITE, PACKAGES, from_package
from engine.checkpoint.snapshot import read_snapshot_file
from engine.checkpoint.weights import EncoderWeights
from utils.errors import OptionError
from utils.files import file_sha256

WEIGHT_SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")
RELEASE_FOLDER = Path("pretrained_models")  # where the releases look for ImageNet weights
SOURCES = ("imagenet", "timm", "torchvision", *PACKAGES)


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
    if source in PACKAGES:
        return from_package(encoder, source)
    check_source(source)
    return _from_file(encoder, source)


def check_source(source: str) -> None:
    """Raises `OptionError` unless `--pretrained` is a known name or is there, `CheckpointError` unless it is a file."""
    if source in SOURCES:
        return
    if not Path(source).exists():
        raise OptionError(f"--pretrained {source}: no such file, and not one of {', '.join(SOURCES)}")
    check_file(Path(source), "--pretrained")


def _from_file(encoder: nn.Module, path: str) -> EncoderWeights:
    content = read_snapshot_file(path)
    weights, scale = find_weights(content, path), None
    options = content.get("config", {}).get("options", {}) if is_snapshot(content) else {}
    if is_lukemelas(weights) and "_lite" in getattr(encoder, "backbone", ""):
        scale = LITE
    elif "mean" in options:
        scale = tuple(options["mean"]), tuple(options["std"])
    return EncoderWeights(path, weights, file_sha256(path), scale)
