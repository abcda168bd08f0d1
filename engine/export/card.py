"""The model card: what published weights are, how well they score, who to cite and under which terms."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from engine.checkpoint.archive import is_own_safetensors
from engine.checkpoint.digests import weights_sha256
from utils.errors import OptionError
from utils.files import read_json
from utils.machine import present_revision

CARD = "README.md"
SCORES, OURS = "## Scores", "library_name: fenet"
# of a run's config.json: places on the machine it ran on, or in a list of what changed at its resumes
LOCAL = {"command", "arguments", "launcher", "launchers", "host", "data_root", "ckpt", "tb_path", "resumed"}
FENET = """@article{zhi2022boosting,
  title={Boosting Semantic Segmentation via Feature Enhancement},
  author={Liu, Zhi and Zhang, Yi and Guo, Xiaojie},
  year={2022}
}"""
SFNET = """@inproceedings{sfnet,
  title={Semantic Flow for Fast and Accurate Scene Parsing},
  author={Li, Xiangtai and You, Ansheng and Zhu, Zhen and Zhao, Houlong and Yang, Maoke and Yang, Kuiyuan and Tong, Yunhai},
  booktitle={ECCV},
  year={2020}
}"""  # noqa: E501
CITATIONS = {"fenet": (FENET, SFNET), "sfnet": (SFNET,)}  # by the first part of the model's name
SMP = "The decoder is segmentation-models-pytorch's: <https://github.com/qubvel-org/segmentation_models.pytorch>."


def without_places(options: Mapping) -> dict:
    """A run's `config.json` without the names of machines and folders: of a file its last part stays."""
    return {key: without_folder(value) for key, value in options.items() if key not in LOCAL}


def without_folder(value: object) -> object:
    """The last part of a path; anything else as it is."""
    return Path(value).name if isinstance(value, str) and os.sep in value else value


def check_folder(folder: Path, weights: str, options: str) -> None:
    """Raises `OptionError` if `folder` has a file that a handout would replace, and isn't a handout itself.

    One whose card is missing is: it is written last. The weights say whose they are, options that they're no run's.
    """
    card = folder / CARD
    if OURS in card.read_text(errors="replace") if card.is_file() else _lacks_card_only(folder, weights, options):
        return
    if found := next((name for name in (CARD, options, weights) if (folder / name).exists()), None):
        raise OptionError(f"--out {folder}: its {found} isn't an export's, and would be lost; name another folder")


def _lacks_card_only(folder: Path, weights: str, options: str) -> bool:
    path = folder / options
    return is_own_safetensors(folder / weights) and not (path.exists() and LOCAL & read_json(path).keys())


def check_card(folder: Path, weights: Mapping[str, Tensor], metrics: Mapping | None) -> bool:
    """Whether the card in `folder` may be written: not over scores, where there are no new ones.

    Raises:
        OptionError: It has scores of other weights.
    """
    card = folder / CARD
    text = card.read_text(errors="replace") if card.is_file() else ""
    if metrics is not None or SCORES not in text:
        return True
    if weights_sha256(weights) not in text:
        raise OptionError(
            f"--out {folder}: its {CARD} has the scores of other weights; name another folder, or give --eval with an"
            " evaluation of this snapshot"
        )
    return False


def model_card(snapshot: Mapping, weights: Mapping[str, Tensor], facts: Mapping) -> str:
    """The card as Markdown; what isn't known is left out.

    Args:
        snapshot: What `load_snapshot` returned; `config`, `classes`, and where it stands are read.
        weights: Those that are published.
        facts: `weights` and `snapshot` (names of files), `license`, `options` (what train.py left in `config.json`),
            `metrics` (what eval.py left in `metrics.json`); the last three may be None.
    """
    config, classes, options = snapshot["config"], snapshot["classes"], facts["options"] or {}
    named = f"license: {json.dumps(facts['license'])}\n" if facts["license"] else ""
    file = facts["weights"]
    parts = [
        f"---\n{OURS}\npipeline_tag: image-segmentation\n{named}---\n",
        f"# {config['arch']} on {classes['dataset']}\n",
        "```bash\n"
        f"python eval.py --snapshot {file} --data_root DIR --split val --save_dir OUT\n"
        f"python demo_folder.py --snapshot {file} --demo_folder PHOTOS --save_dir OUT\n"
        "```\n",
    ]
    if facts["metrics"] is not None:
        parts.append(f"{SCORES}\n" + _scores(facts["metrics"]))
    parts += [
        "## Model\n" + _table(_model_rows(snapshot, weights) | {"revision that trained it": options.get("revision")}),
        "## Hashes\n" + _table({"weights SHA-256": weights_sha256(weights), "snapshot": facts["snapshot"]}),
        "## Licence\n" + _licence(facts["license"], classes["dataset"]),
        "## Citation\n" + _citation(config["arch"]),
    ]
    if options:
        kept = {key: value for key, value in without_places(options).items() if key not in ("revision", "versions")}
        parts.append("## Training options\n" + _table({f"`--{name}`": value for name, value in kept.items()}))
    return "\n".join(parts)


def _model_rows(snapshot: Mapping, weights: Mapping[str, Tensor]) -> dict[str, object]:
    config = snapshot["config"]
    trained = sum(t.numel() for name, t in weights.items() if name.endswith((".weight", ".bias")))
    return {
        "arch": config["arch"],
        "model options": json.dumps(config["options"]),
        "weights and biases, auxiliary heads included": f"{trained:,}",
        "classes": ", ".join(snapshot["classes"]["names"]),
        "encoder weights started from": json.dumps(config["pretrained"]) if "pretrained" in config else None,
        "epoch that they are from, the first being 0": snapshot.get("score", {}).get("epoch"),
        "epochs trained": snapshot.get("training", {}).get("state", {}).get("epoch"),
        "revision that exported it": present_revision(),
    }


def _licence(name: str | None, dataset: str) -> str:
    weights = f"The weights: {_cell(name)}." if name else "The weights: not stated; ask who published them."
    return (
        f"{weights} The code: MIT. The weights were learnt from {dataset} (and its encoder's from what is named above),"
        " whose terms may bind whoever uses them.\n"
    )


def _citation(arch: str) -> str:
    family = arch.split("_")[0]
    entries = "".join(f"```bibtex\n{entry}\n```\n" for entry in CITATIONS.get(family, ()))
    return entries or (f"{SMP}\n" if family == "smp" else f"The authors of {arch}.\n")


def _scores(metrics: Mapping) -> str:
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
