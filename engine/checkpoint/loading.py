"""From a file to a model: weights under any known key style, and a snapshot's model rebuilt."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.snapshot import read_snapshot_file
from engine.checkpoint.weights import LoadReport, find_weights, fit_weights
from utils.errors import CheckpointError, EnvironmentFault, OptionError


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
    weights = find_weights(content, path)
    report = fit_weights(model, _own_keys(model, weights), str(path), partial)
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
    if backbone is not None:
        model.encoder.mean, model.encoder.std = tuple(options["mean"]), tuple(options["std"])
        own["options"] |= {"mean": options["mean"], "std": options["std"]}


def load_model(
    path: str | Path,
    build_model: Callable[..., nn.Module],
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    partial: bool = False,
) -> tuple[nn.Module, dict, LoadReport]:
    """Rebuild a snapshot's model for evaluation: without heads for training, in evaluation mode.

    Args:
        path: A snapshot, or bare weights together with `arch` and `classes`.
        build_model: (arch, num_classes, **options) -> model.
        arch: Needed for bare weights; of a snapshot it overrides the architecture.
        classes: Class names of the data; needed for bare weights, and a snapshot has to have the same ones.
        partial: See `load_weights`.

    Returns:
        The model, the snapshot's description (`config`, `classes`, `score`; empty for bare weights), the report.

    Raises:
        OptionError: Bare weights without `arch` and `classes`.
        CheckpointError: As `load_weights`, or the snapshot's classes are others.
    """
    content = read_snapshot_file(path)
    known = is_snapshot(content)
    header = {key: content[key] for key in ("config", "classes", "score") if known and key in content}
    if not header and (arch is None or classes is None):
        raise OptionError(f"--snapshot {path}: holds bare weights; name --arch and --dataset as well")
    if header and classes is not None:
        check_classes(header, classes, path)
    weights = find_weights(content, path)
    if header:
        _check_scale(header["config"], weights, build_model, path)
    model = _build_like(header.get("config"), build_model, arch, len(classes or ()))
    report = fit_weights(model, _own_keys(model, weights), str(path), partial)
    restore_normalization(model, header.get("config", {}))
    return model.eval(), header, report


def _check_scale(
    config: dict, weights: Mapping[str, Tensor], build_model: Callable[..., nn.Module], path: str | Path
) -> None:
    """Raises `CheckpointError` if a file describes no model, or one far larger than its weights, to fill the memory."""
    stored = sum(tensor.numel() for tensor in weights.values())
    try:
        with torch.device("meta"):
            model = _build_like(config, build_model, None, 0)
    except EnvironmentFault:  # a package that the model needs
        raise
    except Exception as error:  # whatever the options in the file lead to
        raise CheckpointError(f"{path}: describes no model that can be built ({error}); take another file") from error
    if sum(tensor.numel() for tensor in model.state_dict().values()) > 2 * stored:
        raise CheckpointError(f"{path}: describes a far larger model than it holds weights of; take another file")


def _build_like(
    config: dict | None, build_model: Callable[..., nn.Module], arch: str | None, num_classes: int
) -> nn.Module:
    """The snapshot's model with its options; with fresh options where `arch` names another one."""
    if config is None:
        return build_model(arch, num_classes, aux=False)
    if arch is not None:
        model = build_model(arch, config["num_classes"], aux=False)
        if model.config["arch"] != config["arch"]:
            return model
    options = {**config["options"], "aux": False}
    options.pop("boundary", None)
    return build_model(config["arch"], config["num_classes"], **options)


def check_classes(snapshot: dict, names: Sequence[str], path: str | Path) -> None:
    """Raises `CheckpointError` if `snapshot` was trained on other classes than `names`."""
    trained = snapshot["classes"]["names"]
    if list(trained) == list(names):
        return
    raise CheckpointError(
        f"{path}: was trained on {len(trained)} classes ({', '.join(trained[:3])}, ...), the data has {len(names)}"
        f" ({', '.join(names[:3])}, ...) or another order; name the data set it was trained on with --dataset"
    )


def _own_keys(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a release's keys to the model's; what the release carries and nothing uses is dropped."""
    if not hasattr(model, "release_key_map"):
        return weights
    key_map, own = model.release_key_map(), model.state_dict()
    if sum(key in own for key in weights) >= sum(key in key_map for key in weights):
        return weights
    unused = model.release_unused
    return {key_map.get(key, key): value for key, value in weights.items() if not key.startswith(unused)}
