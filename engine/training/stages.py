"""What the options ask of the encoder's stages."""

from torch import nn

from engine.training.step import batch_norms
from network.encoders.stages import encoder_stages
from network.options import ModelOptions
from optimizer import OptimizerOptions
from utils.errors import OptionError


def stages_with_rates(model: nn.Module, options: OptimizerOptions) -> list[list[nn.Parameter]]:
    """The encoder's parameters by stage; as one where they have one rate, and nothing where that is the base rate.

    Raises:
        OptionError: `--lr_decay_by_depth` with an encoder whose stages aren't known.
    """
    if options.lr_decay_by_depth != 1:
        stages = stages_of(model, "--lr_decay_by_depth")
        return [[parameter for part in stage for parameter in part.parameters(recurse=False)] for stage in stages]
    return [list(model.encoder.parameters())] if options.encoder_lr != 1 else []


def stages_of(model: nn.Module, flag: str) -> list[list[nn.Module]]:
    """Of the encoder; `OptionError` in the name of `flag` where they aren't known."""
    try:
        return encoder_stages(model.encoder)
    except ValueError as error:
        raise OptionError(f"{flag}: {error}; leave it out, or take another --arch or --backbone") from error


def freeze_stages(model: nn.Module, count: int) -> None:
    """No training of the first `count` stages (`--freeze_stages`); raises as `first_stages`."""
    for part in first_stages(model, count):
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad_(False)


def frozen_norms(model: nn.Module, options: ModelOptions) -> list[nn.Module]:
    """The batch norms that keep their statistics: all with `--fix_bn`, else those of the stages that are frozen."""
    parts = set(first_stages(model, options.freeze_stages))
    return [norm for norm in batch_norms(model) if options.freeze_norms or norm in parts]


def first_stages(model: nn.Module, count: int) -> list[nn.Module]:
    """The modules of the encoder's first `count` stages, as `encoder_stages` has them.

    Raises:
        OptionError: There are fewer, or they aren't known.
    """
    if not count:
        return []
    flag = f"--freeze_stages {count}"
    stages = stages_of(model, flag)
    if count > len(stages):
        raise OptionError(f"{flag}: the encoder of this model has {len(stages)}; give as many or fewer")
    return [part for stage in stages[:count] for part in stage]
