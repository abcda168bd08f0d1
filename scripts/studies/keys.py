"""What a run is, apart from where and how fast it is computed: equal keys are one run, whatever study asks for it."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import datasets
from config import TrainConfig, parse_train
from datasets.index import open_index
from engine.training.build import open_splits
from engine.training.fingerprint import take_fingerprint
from engine.training.load import like_snapshot
from engine.training.precision import choose_for_run
from engine.training.start import open_indexes
from utils.devices import choose_device
from utils.errors import OptionError
from utils.files import file_sha256

# options that change nothing in a run's result but rounding
NOT_DECIDING = frozenset(
    "exp ckpt tb_path tb_tag resume resume_override dump_augmentation_images evaluateF eval_thresholds timeout debug"
    " report num_workers worker_timeout cache data_root save_every log_every max_pixels device kernels channels_last"
    " compile checkpoint_activations ddp_backend".split()
)
FILES = ("pretrained", "snapshot", "teacher")  # options that may name a file, whose content counts
BY_KEY = (*FILES, "amp")  # options of which a key has what they come to, not how they are written


def plain_options(config: TrainConfig) -> dict:
    """Every option as JSON has it."""
    return json.loads(json.dumps(config.to_dict()))


def deciding(options: Mapping) -> dict:
    """The options that decide a run's result, apart from its seed."""
    return {name: value for name, value in options.items() if name not in NOT_DECIDING and name != "seed"}


def differences(options: Mapping, others: Mapping) -> list[str]:
    """`lr 0.01, there 0.02` for each option that decides; one that a run didn't know yet was at its default."""
    ours, theirs = (default_options() | deciding(one) for one in (options, others))
    named = (name for name in deciding(ours) if ours[name] != theirs.get(name))
    return [f"{name} {json.dumps(ours[name])}, there {json.dumps(theirs.get(name))}" for name in named]


@cache
def default_options() -> dict:
    """`plain_options` of a run without any."""
    return plain_options(parse_train([]))


def precision_of(config: TrainConfig) -> str:
    """What a new run of these options computes in here, by `--amp`'s names; `auto` is settled as train.py does."""
    compute, arch = config.compute, like_snapshot(config).model.name
    return choose_for_run(compute, arch, choose_device(compute.device), None).training.amp


def run_key(options: Mapping, data: Mapping[str, str], precision: str) -> str:
    """The name of a run's folder, from options that aren't the default, seed, data and precision.

    Options at their default don't count, so that one that train.py gets later changes no key.

    Args:
        options: All of them, by `plain_options`.
        data: Digests of the data, by `data_digests`; what the run is scored on doesn't count.
        precision: By `precision_of`.
    """
    default = default_options()
    kept = {name: value for name, value in deciding(options).items() if value != default.get(name) and name != "amp"}
    kept |= {name: file_sha256(kept[name]) for name in FILES if name in kept and Path(kept[name]).is_file()}
    what = {"options": kept, "seed": options["seed"], "data": [data["train"], data["val"]], "precision": precision}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def data_digests(config: TrainConfig, split: str, folder: Path) -> dict[str, str]:
    """SHA-256 of what is trained on, validated on and scored: `train`, `val`, `scored`.

    Args:
        config: Names the data.
        split: What is scored.
        folder: Keeps the index of the files, which train.py finds there; see `datasets.index.open_index`.

    Raises:
        OptionError: There is no such split, or it has no labels.
        DataError: The data isn't there, or not what it should be.
    """
    splits, data = open_splits(config), config.data
    indexes = open_indexes(splits, folder)
    found = dict(zip(splits._fields, zip(splits, indexes, strict=True), strict=True))
    scored = datasets.build_split(data.dataset, data.root, split, data.cv)
    if not scored.has_labels:
        raise OptionError(f"--split {split}: this split of {data.dataset} has no labels; name another")
    found["scored"] = found["val"] if split == data.val_split else (scored, open_index(scored, folder, progress=True))
    return {name: take_fingerprint(*pair)["digest"] for name, pair in found.items()}
