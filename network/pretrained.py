"""ImageNet weights for the deep-stem encoders, by name or from a file; never needed for building a model."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from utils.archive import read_archive
from utils.errors import CheckpointError, EnvironmentFault, OptionError
from utils.vision import import_torchvision
from utils.weights import LoadReport, find_weights, fit_weights

# encoders of exactly these keys and shapes, by depth; ResNet-18 with a 128-wide stem has none
TIMM_TWINS = {50: "resnet50s.gluon_in1k", 101: "resnet101s.gluon_in1k"}
TORCHVISION = {18: "resnet18", 50: "resnet50", 101: "resnet101"}  # but for the stem and layer1's first block
SOURCES = ("imagenet", "timm", "torchvision")


def load_pretrained(model: nn.Module, source: str, partial: bool = False) -> LoadReport:
    """Load an encoder's ImageNet weights.

    Args:
        model: Has an `encoder` with a `depth`.
        source: `timm` (or `imagenet`: the exact twin, R50 and R101), `torchvision` (its stem doesn't fit, so it needs
            `partial`), or a file with the encoder's keys: timm's, torchvision's, or a whole model of ours.
        partial: Load what fits; otherwise anything missing or misshapen is refused.

    Returns:
        What was loaded, over the encoder's tensors; a classifier in the source is left out.

    Raises:
        OptionError: No weights of that name for this encoder.
        CheckpointError: The file is unreadable or doesn't fit.
        EnvironmentFault: A package is missing, or the weights can't be downloaded.
    """
    encoder = model.encoder
    if source in ("imagenet", "timm"):
        weights = _from_timm(encoder.depth)
    elif source == "torchvision":
        weights = _from_torchvision(encoder.depth)
    elif Path(source).exists():
        weights = find_weights(read_archive(source), source)
    else:
        raise OptionError(f"--pretrained {source}: no such file, and not one of {', '.join(SOURCES)}")
    try:
        return fit_weights(encoder, _encoder_keys(weights), source, partial)
    except CheckpointError as error:
        hint = "; add --partial to load what fits and leave the rest random"
        raise CheckpointError(f"--pretrained {error}{'' if partial else hint}") from error


def _encoder_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop a classifier, strip the prefix of a whole model."""
    inner = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    return inner or {key: value for key, value in weights.items() if not key.startswith("fc.")}


def _from_timm(depth: int) -> dict[str, Tensor]:
    if depth not in TIMM_TWINS:
        raise OptionError(
            f"--pretrained: timm has no twin of the deep-stem ResNet-{depth} (only of {sorted(TIMM_TWINS)});"
            " use --pretrained torchvision --partial (all but stem and first block), a file, or leave the option out"
        )
    import_torchvision()  # timm imports it; mends mixed installs
    try:
        import timm
    except ImportError as error:
        raise EnvironmentFault("--pretrained timm: needs the package timm; pip install timm") from error
    return _download(lambda: timm.create_model(TIMM_TWINS[depth], pretrained=True).state_dict())


def _from_torchvision(depth: int) -> dict[str, Tensor]:
    if depth not in TORCHVISION:
        raise OptionError(f"--pretrained torchvision: no ResNet-{depth} there; use a file, or leave the option out")
    models = import_torchvision().models
    return _download(lambda: models.get_model(TORCHVISION[depth], weights="IMAGENET1K_V1").state_dict())


def _download(get) -> dict[str, Tensor]:
    try:
        return get()
    except Exception as error:  # hub clients raise many kinds
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise EnvironmentFault(
            f"--pretrained: the weights can't be downloaded ({reason}); check the network, or give a file"
        ) from error
