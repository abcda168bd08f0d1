"""A model from its name and options."""

import dataclasses

import torch
from torch import nn

from network.foreign import freeze_unused
from network.options import ModelOptions
from network.parts.depthwise_layers import use_own_depthwise
from network.parts.relu6 import use_own_relu6
from network.registry import EXTRAS, MODELS, model_options, resolve_arch
from utils.errors import OptionError, first_line

_FLAGS = {item.name for item in dataclasses.fields(ModelOptions)}


def build_model(arch: str, num_classes: int, **options) -> nn.Module:
    """Build a model with fresh weights; nothing is downloaded and no file is needed.

    The model's `config` attribute (plain data: arch, num_classes, options) rebuilds it.

    Args:
        arch: A name from `list_models`, or an old dotted name.
        num_classes: Number of classes, at least 1.
        options: Of the model, such as `aux`, `boundary`, `channels`, and `norm_layer`; `norm_groups` builds group norms
            of so many groups; for models on any encoder also `backbone`, and `mean` and `std` of its images.

    Raises:
        OptionError: Unknown name, option or value.
        EnvironmentFault: The model needs an optional package that isn't installed.
    """
    if num_classes < 1:
        raise OptionError(f"num_classes is {num_classes}; a model needs at least 1 class")
    name, implied = resolve_arch(arch)
    options = {**implied, **options}
    if options.get("aux") is False and "aux" not in model_options(name):  # it has none
        del options["aux"]
    ModelOptions(
        arch=name,
        norm="group" if options.get("norm_groups") else None,
        **{key: value for key, value in options.items() if key in _FLAGS},
    )
    model = construct(name, num_classes, options)
    kept = {key: value for key, value in options.items() if key != "norm_layer"}
    if name in EXTRAS:  # said in full, because timm's defaults may change
        encoder = model.encoder
        kept |= {"backbone": encoder.backbone, "mean": list(encoder.mean), "std": list(encoder.std)}
    model.config = {"arch": name, "num_classes": num_classes, "options": kept}
    return model


def construct(name: str, num_classes: int, options: dict) -> nn.Module:
    """The registered model; `OptionError` where its parts refuse the options, or don't fit together."""
    try:
        model = MODELS[name](num_classes=num_classes, **options)
    except (TypeError, ValueError) as error:
        text = str(error)
        raise OptionError(text if text.startswith("--") else f"{_blamed(name, options)}: {text}") from error
    use_own_relu6(use_own_depthwise(model))
    if name in EXTRAS:
        try:
            freeze_unused(model)
        except Exception as error:  # the other libraries raise many kinds
            raise OptionError(
                f"--backbone {model.encoder.backbone}: doesn't go with {name} ({first_line(error)}); take another"
                " encoder"
            ) from error
    return model


def _blamed(name: str, options: dict) -> str:
    """The flag of the option that the model refuses, which is built without it; `--arch` where it isn't any one."""
    for key, value in options.items():
        try:
            with torch.device("meta"):
                MODELS[name](num_classes=2, **{other: options[other] for other in options if other != key})
        except (TypeError, ValueError):
            continue
        return f"--{key} {value}" if key in _FLAGS else f"--model_args {key}={value}"
    return f"--arch {name}"


def check_buildable(options: ModelOptions) -> None:
    """Build the model on the meta device, without arithmetic, where only that tells whether its options fit.

    Raises:
        OptionError: They don't.
        EnvironmentFault: The model needs an optional package that isn't installed.
    """
    own = options.build_options()
    if own or options.name in EXTRAS:
        with torch.device("meta"):
            construct(options.name, 2, options.implied | own)


def release_key_map(model: nn.Module) -> dict[str, str]:
    """State-dict key of the authors' release -> our key, for all that `model` uses.

    Raises:
        OptionError: The model has no counterpart in the releases.
    """
    key_map = model.release_key_map() if hasattr(model, "release_key_map") else {}
    if not key_map:
        name = type(model).__name__
        raise OptionError(f"{name} as it was built has no counterpart in the releases; take --format safetensors")
    return key_map
