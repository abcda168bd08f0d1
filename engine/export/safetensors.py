"""Weights to publish: safetensors with a model card, which load back, or a file with the releases' keys."""

import io
from pathlib import Path

import torch
from torch import nn

from engine.checkpoint.archive import write_safetensors
from engine.checkpoint.keys import find_weights
from engine.checkpoint.loading import METADATA
from engine.checkpoint.weights import fit_weights
from engine.export.card import CARD, check_card, check_folder, model_card, without_folder, without_places
from network import build_model, release_key_map
from utils.files import make_folder, write_atomically, write_json

WEIGHTS, OPTIONS = "model.safetensors", "config.json"


def write_handout(
    snapshot: dict,
    source: Path,
    folder: str | Path,
    options: dict | None = None,
    metrics: dict | None = None,
    half: bool = False,
    license: str | None = None,
) -> Path:
    """Write `model.safetensors`, `README.md` and, if known, `config.json`; none names a folder of this machine.

    The safetensors file holds model, classes and a SHA-256 for each tensor in its metadata, so it is a snapshot too:
    `--snapshot` takes it. Of a snapshot with averaged weights these are written.

    Args:
        snapshot: What `load_snapshot` returned.
        source: Its file, for the card.
        folder: Is made.
        options: What train.py left in `config.json`.
        metrics: What eval.py left in `metrics.json`; None: a card with scores of the same weights that is there stays.
        half: Filters in float16; norms and biases, which are small and sensitive, stay in float32.
        license: Of the weights.

    Returns:
        The safetensors file.

    Raises:
        OptionError: The folder's card has scores of other weights, or the folder is a run's; nothing is written.
        EnvironmentFault: The folder can't be written.
    """
    folder = make_folder(folder, "--out")
    weights = {name: tensor.contiguous() for name, tensor in find_weights(snapshot, source).items()}
    if half:
        weights = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in weights.items()}
    check_folder(folder, WEIGHTS, OPTIONS)
    writes_card = check_card(folder, weights, metrics)
    header = {key: snapshot[key] for key in METADATA if snapshot.get(key) is not None}
    if pretrained := snapshot["config"].get("pretrained"):
        pretrained = {key: without_folder(value) for key, value in pretrained.items()}
        header["config"] = snapshot["config"] | {"pretrained": pretrained}
    content = {**header, "format": snapshot["format"], "model": weights}
    write_atomically(folder / WEIGHTS, lambda file: write_safetensors(content, file))
    if writes_card:  # the old one is of other weights
        (folder / CARD).unlink(missing_ok=True)
    if options is not None:
        write_json(folder / OPTIONS, without_places(options))
    elif writes_card:  # those that are there are of other weights
        (folder / OPTIONS).unlink(missing_ok=True)
    if writes_card:
        facts = {"weights": WEIGHTS, "snapshot": source.name, "license": license, "options": options}
        card = model_card(snapshot | header, weights, facts | {"metrics": metrics})
        write_atomically(folder / CARD, lambda file: file.write(card.encode()))
    return folder / WEIGHTS


def rebuild_whole(snapshot: dict, source: Path) -> nn.Module:
    """A snapshot's model, heads for training included. Raises `CheckpointError` if any tensor is missing."""
    config = snapshot["config"]
    model = build_model(config["arch"], config["num_classes"], **config["options"])
    fit_weights(model, find_weights(snapshot, source), str(source), partial=False)
    return model


def write_release(model: nn.Module, path: str | Path) -> list[str]:
    """Write weights as the authors' releases keep theirs: under `state_dict`, keys with `module.` in front.

    Args:
        model: One that the releases have, too.
        path: A `.pth` file.

    Returns:
        Our names that the releases have no key for, which were left out.

    Raises:
        EnvironmentFault: The file can't be written.
    """
    weights, key_map = model.state_dict(), release_key_map(model)
    renamed = {f"module.{theirs}": weights[ours].contiguous() for theirs, ours in key_map.items()}
    buffer = io.BytesIO()  # of a full disk PyTorch says anything
    torch.save({"state_dict": renamed}, buffer)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))
    return sorted(weights.keys() - set(key_map.values()))
