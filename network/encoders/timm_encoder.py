"""Any feature encoder of timm behind FENet's and SFNet's decoders; built without weights and without network."""

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from network.parts.open_sizes import cut_to, has_open_sides, pad_to_multiple
from network.recompute import Unit, blocks
from utils.constants import IMAGENET_MEAN, IMAGENET_STD
from utils.errors import OptionError, first_line
from utils.optional import import_extra

DEFAULT_BACKBONE = "resnet18"
STRIDES = (4, 8, 16, 32)
EVEN, ODD = (64, 96), ((33, 33), (65, 91))  # sizes that an encoder is tried at
ANY_SIZE = {"strict_img_size": False}  # what Swin Transformers need to take images of any size


@dataclass(frozen=True)
class EncoderInfo:
    """How a timm encoder is built and fed.

    Attributes:
        indices: Places of the maps at strides 4, 8, 16, 32 in its list of features.
        multiple: Sides of the images that it gets are multiples of this.
        options: Further arguments of `timm.create_model`.
        mean, std: Of the images that its pretrained weights are for: RGB in [0, 1].
    """

    indices: tuple[int, ...]
    multiple: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    options: dict = field(default_factory=dict)


@functools.cache
def inspect_encoder(name: str) -> EncoderInfo:
    """Find out, on the meta device and so without arithmetic, how encoder `name` fits the decoders.

    Raises:
        OptionError: timm has no such encoder, or it offers no maps at strides 4, 8, 16, 32 for images of any size.
        EnvironmentFault: timm isn't installed.
    """
    timm = import_extra("timm", f"--backbone {name}")
    if ":" in name or not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), 3) or ["resnet18", "convnext_tiny"]
        raise OptionError(f"--backbone {name}: timm has no such encoder; close names: {', '.join(close)}")
    try:
        config = timm.get_pretrained_cfg(name)
        model = _on_meta(name, {})
    except Exception as error:  # timm's models raise many kinds
        raise OptionError(f"--backbone {name}: timm can't build it as an encoder ({first_line(error)})") from error
    offered = [info["reduction"] for info in model.feature_info.info]
    if not set(STRIDES) <= set(offered):
        raise OptionError(
            f"--backbone {name}: its features are at strides {sorted(set(offered))}, the decoders need"
            f" {', '.join(map(str, STRIDES))}; take a pyramid encoder such as resnet18 or convnext_tiny"
        )
    indices = tuple(len(offered) - 1 - offered[::-1].index(stride) for stride in STRIDES)
    options, multiple = _fit_sizes(name, indices)
    mean, std = (tuple(config.mean), tuple(config.std)) if config is not None else (IMAGENET_MEAN, IMAGENET_STD)
    return EncoderInfo(indices, multiple, mean, std, options)


def _fit_sizes(name: str, indices: tuple[int, ...]) -> tuple[dict, int]:
    """Arguments with which encoder `name` takes images of any size, and the multiple their sides must be of."""
    reasons = []
    for options in ({}, ANY_SIZE):
        try:
            model = _on_meta(name, options, indices)
            if not _maps_fit(model, EVEN):
                raise ValueError("its maps have other sizes than their strides say")
        except Exception as error:  # timm's models raise many kinds
            reasons.append(first_line(error))
            continue
        try:
            native = all(_maps_fit(model, size) for size in ODD)
        except Exception:  # it can't take odd sizes, and gets padded images
            native = False
        return options, 1 if native else STRIDES[-1]
    raise OptionError(
        f"--backbone {name}: doesn't take images of any size ({reasons[0]});"
        " take another encoder, such as resnet18 or convnext_tiny"
    )


def _on_meta(name: str, options: dict, indices: tuple[int, ...] | None = None) -> nn.Module:
    chosen = {} if indices is None else {"out_indices": indices}
    with torch.device("meta"):
        return import_extra("timm", "--backbone").create_model(name, features_only=True, **chosen, **options).eval()


def _maps_fit(model: nn.Module, size: tuple[int, int]) -> bool:
    """True if an image of (height, width) gives maps of ceil(side / stride) and the channels that are announced."""
    maps = channels_first(model, model(torch.empty(1, 3, *size, device="meta")))
    expected = [
        (width, *feature_size(size, stride))
        for width, stride in zip(model.feature_info.channels(), STRIDES, strict=True)
    ]
    return [tuple(x.shape[1:]) for x in maps] == expected


def channels_first(model: nn.Module, maps: Sequence[Tensor]) -> list[Tensor]:
    """Feature maps of a timm encoder as (N,C,h,w), whatever its own layout."""
    if str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC"):
        return [x.permute(0, 3, 1, 2).contiguous() for x in maps]
    return list(maps)


def stage_ends(model: nn.Module) -> tuple[str, ...]:
    """Modules that the maps of a timm encoder come from, from stride 4 on, as `encoder_stages` asks for them."""
    info = model.feature_info
    strides = zip(info.module_name(), info.reduction(), strict=True)
    return tuple(name.replace("_", ".") for name, stride in strides if stride >= STRIDES[0])


def feature_size(size: Sequence[int], stride: int) -> tuple[int, int]:
    """(height, width) of an image -> that of its map at `stride`, rounded up."""
    return tuple((side + stride - 1) // stride for side in size)


class TimmEncoder(nn.Module):
    """Normalised images (N,3,H,W) -> four maps (N,C_i,ceil(H/s),ceil(W/s)) at strides s = 4, 8, 16, 32.

    An encoder that drops or refuses what is left over at odd sizes (patches, windows) gets its images padded to a
    multiple of 32 with zeros, the mean colour, and its maps are cut to size. Of several maps at one stride the last is
    taken. Its strides and norms are timm's own: unlike the deep-stem encoders it isn't dilated.

    Args:
        backbone: timm's name, with or without a tag; weights are fresh.
        mean: Of the images, RGB in [0, 1]; None: as timm says for the weights of that name.
        std: As `mean`.
    """

    def __init__(self, backbone: str, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        plan = inspect_encoder(backbone)
        timm = import_extra("timm", "--backbone")
        self.backbone, self.multiple = backbone, plan.multiple
        self.mean, self.std = tuple(mean or plan.mean), tuple(std or plan.std)
        self.model = timm.create_model(backbone, features_only=True, out_indices=plan.indices, **plan.options)
        self.channels = tuple(self.model.feature_info.channels())
        self.stage_ends = stage_ends(self.model)

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.multiple == 1 and has_open_sides(x):  # nothing to pad or to cut, and no comparison of sizes
            return channels_first(self.model, self.model(x))
        maps = channels_first(self.model, self.model(pad_to_multiple(x, self.multiple)))
        return [cut_to(f, feature_size(x.shape[-2:], stride)) for f, stride in zip(maps, STRIDES, strict=True)]

    def checkpoint_units(self) -> list[Unit]:
        """What a training step can compute again: the blocks of its stages, as far as timm keeps them in sequences."""
        return list(blocks(self.model))
