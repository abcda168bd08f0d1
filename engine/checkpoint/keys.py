"""What wraps the weights in a file, and the styles of their keys -> the keys of the model or encoder that gets them.

Around them: `state_dict`, `model`, ..., and `module.`, `_orig_mod.`, or a Lightning module's attribute before each key.
Of models: ours and the releases', whose map a model brings along. Of encoders: ours (a whole model or its encoder), the
releases' deep stem (a whole model, or the encoder's own file), torchvision's and timm's classifiers, and lukemelas'
EfficientNet-PyTorch (`_conv_stem...`), whose tensors stand in the same order as those of timm's TensorFlow twins.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from engine.checkpoint.digests import is_snapshot
from utils.errors import CheckpointError

WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")  # keys under which weights stand
ATTRIBUTES = ("model.", "net.", "network.")  # of a Lightning module: in front of every key, or no prefix
RELEASE = (("layer0.0.", "conv1."), ("layer0.1.", "bn1."))
LUKEMELAS_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
LUKEMELAS_BLOCK = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
EXPANDED = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
EXPANDED |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def find_weights(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file's content: a snapshot's (averaged weights first), bare, or in a common wrapper.

    Raises:
        CheckpointError: There is none.
    """
    if is_snapshot(content):
        average = content.get("average")
        content = content.get("model") if average is None else average
    else:
        content = _unwrap(content)
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: holds no state dict, which is tensors by name; take another file")
    return _without_prefixes({str(key): value for key, value in content.items()})


def _unwrap(content: Any) -> Any:
    """What other trainers wrap the weights in, such as `{"epoch": 3, "state_dict": {...}}`, taken off."""
    for _ in range(len(WRAPPERS)):
        inner = [content[key] for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)]
        if not inner:
            break
        content = inner[0]
    return content


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys without what distributed training, compiling and Lightning put in front of them."""
    while True:
        keys = {key: key.removeprefix("module.").removeprefix("_orig_mod.") for key in weights}
        for prefix in ATTRIBUTES:
            if all(key.startswith(prefix) for key in keys.values()):
                keys = {key: short.removeprefix(prefix) for key, short in keys.items()}
        if all(key == short for key, short in keys.items()):
            return weights
        weights = {short: weights[key] for key, short in keys.items()}


def model_keys(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`weights` under the model's keys; what a release carries and nothing uses is dropped."""
    if not hasattr(model, "release_key_map"):
        return weights
    key_map, own = model.release_key_map(), model.state_dict()
    if sum(key in own for key in weights) >= sum(key in key_map for key in weights):
        return weights
    unused = model.release_unused
    return {key_map.get(key, key): value for key, value in weights.items() if not key.startswith(unused)}


def flat_key(key: str) -> str:
    """A key as all styles spell it: timm's feature encoders write `stages_0` for `stages.0`, and stand in `model.`."""
    return key.removeprefix("model.").replace(".", "_")


def is_lukemelas(keys: Iterable[str]) -> bool:
    """True for the keys of EfficientNet-PyTorch."""
    return "_conv_stem.weight" in keys


def encoder_keys(weights: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """`weights` under the keys `own` of an encoder; what the encoder lacks keeps a key in timm's style."""
    own = list(own)
    inner = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    if inner:
        weights = inner
    elif any(key.startswith("layer0.") for key in weights):
        weights = {_release_key(key): value for key, value in weights.items() if re.match(r"layer\d\.", key)}
    elif is_lukemelas(weights):
        weights = _from_lukemelas(weights, own)
    names = {flat_key(key): key for key in own}
    return {names.get(flat_key(key), key): value for key, value in weights.items()}


def _release_key(key: str) -> str:
    for theirs, ours in RELEASE:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def _from_lukemelas(weights: Mapping[str, Tensor], own: list[str]) -> dict[str, Tensor]:
    """EfficientNet-PyTorch's keys -> timm's, whose blocks are numbered within stages: `own` tells how many each has."""
    found = {tuple(map(int, match.groups())) for key in own if (match := re.search(r"blocks\.(\d+)\.(\d+)\.", key))}
    places = sorted(found)
    result = {}
    for key, value in weights.items():
        part, _, rest = key.partition(".")
        if part == "_blocks":
            number, part, rest = rest.split(".", 2)
            table = EXPANDED if f"_blocks.{number}._expand_conv.weight" in weights else SEPARABLE
            name = (table | LUKEMELAS_BLOCK).get(part, part)
            stage, index = places[int(number)] if int(number) < len(places) else ("?", number)
            result[f"blocks.{stage}.{index}.{name}.{rest}"] = value
        else:
            result[f"{LUKEMELAS_TOP.get(part, part)}.{rest}"] = value
    return result
