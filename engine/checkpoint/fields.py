"""What a snapshot's fields hold, checked once when it is read: its digests only say that it is as it was written."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint.run_state import RunState
from utils.errors import CheckpointError


def check_fields(snapshot: Mapping, path: object) -> None:
    """Raise `CheckpointError` unless every known field of a snapshot has the type and range that its readers expect.

    Fields may be missing where a reader can do without them; unknown ones are left alone.
    """
    try:
        _need(_is_state(snapshot.get("model")), "model", "tensors by name")
        average = snapshot.get("average")
        _need(average is None or _is_state(average), "average", "tensors by name, or None")
        _need(("config" in snapshot) == ("classes" in snapshot), "config and classes", "there both or neither")
        if "config" in snapshot:
            _check_classes(snapshot["classes"])
            _check_config(snapshot["config"], len(snapshot["classes"]["names"]))
        _need(_is_names(snapshot.get("score", {})), "score", "figures by name")
        if "trained_on" in snapshot:
            check_trained_on(snapshot["trained_on"])
        temperature = snapshot.get("temperature", 1.0)
        _need(type(temperature) is float and 0 < temperature < math.inf, "temperature", "a positive number")
        if "training" in snapshot:
            _check_training(snapshot["training"])
    except ValueError as error:
        raise CheckpointError(f"{path}: not a snapshot for this version: {error}; take another one") from error


def _check_config(config: Any, num_classes: int) -> None:
    _need(_is_names(config), "config", "a dict")
    _need(isinstance(config.get("arch"), str), "config/arch", "a name")
    _need(_is_whole(config.get("num_classes"), 1), "config/num_classes", "a positive number")
    _need(config["num_classes"] == num_classes, "config/num_classes", f"the number of its classes, {num_classes}")
    options = config.get("options")
    _need(_is_names(options), "config/options", "a dict")
    if "mean" in options or "std" in options:
        mean, std = options.get("mean"), options.get("std")
        whole = all(_is_list(part, _is_number) and len(part) == 3 for part in (mean, std))
        _need(whole and min(std) > 0, "config/options", "with three numbers each as mean and std, std positive")


def _check_classes(classes: Any) -> None:
    _need(_is_names(classes), "classes", "a dict")
    _need(isinstance(classes.get("dataset"), str), "classes/dataset", "a name")
    names, palette, ids = (classes.get(key) for key in ("names", "palette", "label_ids"))
    _need(_is_list(names, lambda x: isinstance(x, str)) and 0 < len(names) <= 255, "classes/names", "1 to 255 names")
    colors = _is_list(palette, lambda color: _is_list(color, _is_byte) and len(color) == 3)
    _need(colors and len(palette) == len(names), "classes/palette", "a colour for each class")
    _need(_is_list(ids, _is_byte) and len(ids) == len(names), "classes/label_ids", "an id for each class")
    table = classes.get("id_to_train")
    numbers = _is_names(table) and all(key.isdecimal() and _is_byte(int(key[:4])) for key in table)
    _need(numbers and all(map(_is_byte, table.values())), "classes/id_to_train", "train ids by label id")


def check_trained_on(data: Any) -> None:
    """Raise `ValueError` unless it is what `engine.evaluation.seen.describe_training` gives."""
    _need(_is_names(data), "trained_on", "a dict")
    named = all(isinstance(data.get(name), str) for name in ("dataset", "split"))
    _need(named and _is_whole(data.get("cv"), 0), "trained_on", "with dataset, split and cv")
    for name in ("limit_images", "base_size"):
        _need(data.get(name) is None or _is_whole(data[name], 1), f"trained_on/{name}", "a positive number, or None")


def _check_training(training: Any) -> None:
    _need(_is_names(training), "training", "a dict")
    _need(_is_names(training.get("settings")), "training/settings", "a dict")
    _need(_is_names(training.get("scaler", {})), "training/scaler", "a dict")
    optimizer = training.get("optimizer")
    groups = _is_names(optimizer) and _is_list(optimizer.get("param_groups"), _is_names)
    _need(groups and isinstance(optimizer.get("state"), dict), "training/optimizer", "an optimizer's state")
    names = training.get("parameters", [])
    _need(_is_list(names, lambda x: isinstance(x, str)), "training/parameters", "names")
    average = training.get("average")
    whole = _is_names(average) and _is_whole(average.get("updates"), 0) and _is_state(average.get("shadow"))
    _need(average is None or whole, "training/average", "an average's state, or None")
    _check_state(training.get("state"))
    schedule = training.get("schedule", {"max_epoch": 1, "steps_per_epoch": 1})
    counts = _is_names(schedule) and all(_is_whole(schedule.get(name), 1) for name in ("max_epoch", "steps_per_epoch"))
    counts = counts and _is_whole(schedule.get("max_iters", 1), 1)
    _need(counts, "training/schedule", "max_epoch, steps_per_epoch and perhaps max_iters, positive numbers")
    if "data" in training:
        _need(_is_names(training["data"]), "training/data", "a dict")
        for part in ("train", "val"):
            _check_fingerprint(training["data"].get(part), f"training/data/{part}")


def _check_fingerprint(data: Any, place: str) -> None:
    _need(_is_names(data), place, "a dict")
    texts = all(isinstance(data.get(name), str) for name in ("dataset", "split", "digest"))
    _need(texts, place, "with dataset, split and digest")
    keys = data.get("keys")
    whole = isinstance(keys, Tensor) and keys.dtype == torch.int64 and keys.ndim == 2 and keys.shape[1] == 2
    _need(whole, f"{place}/keys", "an int64 tensor of two columns")


def _check_state(state: Any) -> None:
    """The fields of `RunState`, those that have been added since left out."""
    _need(_is_names(state), "training/state", "a dict")
    defaults = {field.name: getattr(RunState(), field.name) for field in dataclasses.fields(RunState)}
    for name, value in state.items():
        _need(name in defaults, f"training/state/{name}", "a field that this version knows")
        default, place = defaults[name], f"training/state/{name}"
        if isinstance(default, dict):
            _need(_is_names(value) and all(map(_is_number, value.values())), place, "numbers by name")
        elif isinstance(default, int):
            _need(_is_whole(value, default), place, f"a whole number from {default}")  # none is ever below its default
        else:
            _need(_is_number(value), place, "a finite number")


def with_options(state: dict, options: list[dict]) -> dict:
    """An optimizer's state with options of its groups changed, so that its tensors are loaded as these ask: a fused
    optimizer counts its steps on the device. With another number of groups it stays as it is, which torch refuses.
    """
    if len(state["param_groups"]) != len(options):
        return state
    groups = [{**saved, **own} for saved, own in zip(state["param_groups"], options, strict=True)]
    return {**state, "param_groups": groups}


def regroup(state: dict, saved: list[str], optimizer: torch.optim.Optimizer, names: list[str]) -> dict:
    """An optimizer's state for one that trains other parameters, or in other groups: each keeps its own, by name.

    A group's present rate is the one at which its parameters were trained, so that what is logged before the next
    step is what it would have been without the break; a group of new parameters has its own.

    Args:
        state: As it was saved.
        saved: Names of its parameters, in its order.
        optimizer: That is to load it, with its own options.
        names: Of its parameters, in its order; one that wasn't trained starts without a state.
    """
    kept = {name: state["state"][i] for i, name in enumerate(saved) if i in state["state"]}
    rates = {saved[i]: group["lr"] for group in state["param_groups"] for i in group["params"]}
    groups = optimizer.state_dict()["param_groups"]
    for group in groups:
        group["lr"] = next((rates[names[i]] for i in group["params"] if names[i] in rates), group["lr"])
    return {"state": {i: kept[name] for i, name in enumerate(names) if name in kept}, "param_groups": groups}


def check_optimizer(optimizer: torch.optim.Optimizer, path: object) -> None:
    """Raise `CheckpointError` if what `optimizer` has just loaded doesn't fit its parameters, which torch lets pass."""
    for group in optimizer.param_groups:
        if not _is_number(group.get("lr")):
            raise CheckpointError(f"{path}: its optimizer's lr is not a number; take another snapshot")
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                fits = isinstance(value, Tensor) and (value.shape == parameter.shape or value.numel() == 1)
                if not fits and value is not None:
                    raise CheckpointError(f"{path}: its optimizer's {name} doesn't fit; take another snapshot")


def _need(fits: bool, field: str, expected: str) -> None:
    if not fits:
        raise ValueError(f"{field} is not {expected}")


def _is_names(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_state(value: Any) -> bool:
    return _is_names(value) and len(value) > 0 and all(isinstance(item, Tensor) for item in value.values())


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and all(map(fits, value))


def _is_number(value: Any) -> bool:
    return math.isfinite(value) if type(value) is float else _is_whole(value, -(2**63))


def _is_whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**63


def _is_byte(value: Any) -> bool:
    return _is_whole(value, 0) and value <= 255
