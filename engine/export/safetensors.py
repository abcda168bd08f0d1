"""Weights to publish: safetensors with a model card, which load back, or a file with the releases' keys."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint.archive import write_safetensors
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.keys import find_weights
from engine.checkpoint.loading import METADATA
from engine.checkpoint.weights import fit_weights
from network import build_model, release_key_map
from utils.files import make_folder, write_atomically, write_json

WEIGHTS, CARD, OPTIONS = "model.safetensors", "README.md", "config.json"


def write_handout(
    snapshot: dict,
    source: Path,
    folder: str | Path,
    options: dict | None = None,
    metrics: dict | None = None,
    half: bool = False,
) -> Path:
    """Write `model.safetensors`, `README.md` and, if known, `config.json`.

    The safetensors file holds model, classes and a SHA-256 for each tensor in its metadata, so it is a snapshot too:
    `--snapshot` takes it. Of a snapshot with averaged weights these are written.

    Args:
        snapshot: What `load_snapshot` returned.
        source: Its file, for the card.
        folder: Is made.
        options: What train.py left in `config.json`.
        metrics: What eval.py left in `metrics.json`.
        half: Filters in float16; norms and biases, which are small and sensitive, stay in float32.

    Returns:
        The safetensors file.

    Raises:
        EnvironmentFault: The folder can't be written.
    """
    folder = make_folder(folder, "--out")
    weights = {name: tensor.contiguous() for name, tensor in find_weights(snapshot, source).items()}
    if half:
        weights = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in weights.items()}
    header = {key: snapshot[key] for key in METADATA if snapshot.get(key) is not None}
    content = {**header, "format": snapshot["format"], "model": weights}
    write_atomically(folder / WEIGHTS, lambda file: write_safetensors(content, file))
    if options is not None:
        write_json(folder / OPTIONS, options)
    card = model_card(header, weights, source, options, metrics)
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
    write_atomically(path, lambda file: torch.save({"state_dict": renamed}, file))
    return sorted(weights.keys() - set(key_map.values()))


def model_card(
    header: dict, weights: Mapping[str, Tensor], source: Path, options: dict | None, metrics: dict | None
) -> str:
    """The card as Markdown; what isn't known is left out. Arguments as in `write_handout`."""
    config, classes = header["config"], header["classes"]
    trained = sum(t.numel() for name, t in weights.items() if name.endswith((".weight", ".bias")))
    parts = [
        "---\nlibrary_name: fenet\npipeline_tag: image-segmentation\n---\n",
        f"# {config['arch']} on {classes['dataset']}\n",
        "```bash\n"
        f"python eval.py --snapshot {WEIGHTS} --data_root DIR --split val --save_dir OUT\n"
        f"python demo_folder.py --snapshot {WEIGHTS} --demo_folder PHOTOS --save_dir OUT\n"
        "```\n",
        "## Model\n"
        + _table(
            {
                "arch": config["arch"],
                "model options": json.dumps(config["options"]),
                "weights and biases, auxiliary heads included": f"{trained:,}",
                "classes": ", ".join(classes["names"]),
                "encoder weights started from": json.dumps(config["pretrained"]) if "pretrained" in config else None,
            }
        ),
        "## Hashes\n" + _table({"weights SHA-256": weights_sha256(weights), "snapshot": source.name}),
    ]
    if metrics is not None:
        parts.insert(2, "## Scores\n" + _scores(metrics))
    if options is not None:
        parts.append("## Training options\n" + _table({f"`--{name}`": value for name, value in options.items()}))
    return "\n".join(parts)


def _scores(metrics: dict) -> str:
    interval = metrics.get("interval")
    between = f" (95 % interval over images {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    rows = {
        "data": f"{metrics['dataset']} {metrics['split']}, {metrics['num_images']} images",
        "mean IoU": f"{_fraction(metrics['mean_iou'])}{between}",
        "pixel accuracy": _fraction(metrics["pixel_accuracy"]),
        "protocol": json.dumps(metrics["protocol"]),
        "snapshot SHA-256": metrics["snapshot_sha256"],
    }
    per_class = {name: _fraction(row["iou"]) for name, row in metrics["per_class"].items()}
    return _table(rows) + "\n" + _table(per_class, ("class", "IoU"))


def _fraction(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _table(rows: Mapping[str, object], head: tuple[str, str] = ("", "")) -> str:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items() if value is not None]
    return "\n".join([f"| {head[0]} | {head[1]} |", "| --- | --- |", *lines, ""])


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
