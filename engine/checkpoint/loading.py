"""From a file to a model: weights under any known key style, and a snapshot's model rebuilt."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.keys import find_weights, model_keys
from engine.checkpoint.snapshot import read_snapshot_file
from engine.checkpoint.weights import LoadReport, fit_weights
from network import build_model, resolve_arch
from utils.errors import CheckpointError, EnvironmentFault, OptionError

# of a snapshot: what stands beside its weights for whoever uses them
METADATA = ("config", "classes", "trained_on", "score", "temperature")


def load_weights(model: nn.Module, path: str | Path, partial: bool = False) -> LoadReport:
    """Load a file's weights into `model`: our snapshots, safetensors, the releases' `.pth` with their own keys.

    Args:
        model: Gets the weights, in place.
        path: The file; of a snapshot with averaged weights these are taken.
        partial: Load what fits and leave the rest; otherwise anything missing, left over or misshapen is refused.
            Heads for training that the file has and the model doesn't build are reported, never refused.

    Raises:
        CheckpointError: Unreadable, or the weights don't fit the model; then `model` is unchanged.
    """
    content = read_snapshot_file(path)
    return fill_model(model, content, path, partial)


def fill_model(model: nn.Module, content: Mapping, path: str | Path, partial: bool) -> LoadReport:
    """`load_weights` of a file's `content`, which was read."""
    report = fit_weights(model, model_keys(find_weights(content, path), model), str(path), partial)
    if is_snapshot(content):
        restore_normalization(model, content.get("config", {}))
    return report


def restore_normalization(model: nn.Module, config: dict) -> None:
    """Take over what a snapshot's `config` knows of its encoder's weights, if `model` has the same encoder.

    That is their provenance, and the mean and std of the images that they are used to.
    """
    own, options = getattr(model, "config", {}), config.get("options", {})
    backbone = own.get("options", {}).get("backbone")
    if options.get("backbone") != backbone or (backbone is None and config.get("arch") != own.get("arch")):
        return
    if "pretrained" in config:
        own["pretrained"] = config["pretrained"]
    if backbone is not None and "mean" in options:
        model.encoder.mean, model.encoder.std = tuple(options["mean"]), tuple(options["std"])
        own["options"] |= {"mean": options["mean"], "std": options["std"]}


def load_model(
    path: str | Path, arch: str | None = None, classes: Sequence[str] | None = None, partial: bool = False
) -> tuple[nn.Module, dict, LoadReport]:
    """Rebuild a snapshot's model for evaluation: without heads for training, in evaluation mode.

    Args:
        path: A snapshot, or bare weights together with `arch` and `classes`.
        arch: Needed for bare weights; of a snapshot it overrides the architecture.
        classes: Class names of the data; needed for bare weights, and a snapshot has to have the same ones.
        partial: As in `load_weights`.

    Returns:
        The model, the snapshot's metadata (`METADATA`; empty for bare weights), the report.

    Raises:
        OptionError: Bare weights without `arch` and `classes`.
        CheckpointError: As `load_weights`, or the snapshot's classes are others.
    """
    content = read_snapshot_file(path)
    known = is_snapshot(content) and "config" in content
    metadata = {key: content[key] for key in METADATA if known and key in content}
    if not metadata and (arch is None or classes is None):
        missing = "--arch and --dataset" if arch is None else "a --dataset whose classes are fixed"
        raise OptionError(f"--snapshot {path}: holds bare weights; name {missing} as well")
    if metadata and classes is not None:
        check_classes(metadata, classes, path)
    weights = find_weights(content, path)
    if metadata:
        check_scale(metadata["config"], weights, path)
    model = _build_like(metadata.get("config"), arch, len(classes or ()))
    report = fill_model(model, content, path, partial)
    return model.eval(), metadata, report


def check_scale(config: dict, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises `CheckpointError` if a file describes no model, or one far larger than its weights, to fill the memory."""
    stored = sum(tensor.numel() for tensor in weights.values())
    try:
        with torch.device("meta"):
            model = _build_like(config)
    except EnvironmentFault:  # a package that the model needs
        raise
    except Exception as error:  # whatever the options in the file lead to
        raise CheckpointError(f"{path}: describes no model that can be built ({error}); take another file") from error
    if sum(tensor.numel() for tensor in model.state_dict().values()) > 2 * stored:
        raise CheckpointError(f"{path}: describes a far larger model than it holds weights of; take another file")


def _build_like(config: dict | None, arch: str | None = None, num_classes: int = 0) -> nn.Module:
    """The snapshot's model with its options; with fresh options where `arch` names another one."""
    if config is None:
        return build_model(arch, num_classes, aux=False)
    if arch is not None and resolve_arch(arch)[0] != config["arch"]:
        return build_model(arch, config["num_classes"], aux=False)
    options = {**config["options"], "aux": False}
    options.pop("boundary", None)
    return build_model(config["arch"], config["num_classes"], **options)


def check_classes(metadata: dict, names: Sequence[str], path: str | Path) -> None:
    """Raises `CheckpointError` if a snapshot was trained on other classes than `names`, by its `metadata`."""
    trained = metadata["classes"]["names"]
    if list(trained) == list(names):
        return
    raise CheckpointError(
        f"{path}: was trained on {len(trained)} classes ({', '.join(trained[:3])}, ...), the data has {len(names)}"
        f" ({', '.join(names[:3])}, ...) or another order; name the data set it was trained on with --dataset"
    )
