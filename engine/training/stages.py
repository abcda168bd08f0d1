"""What the options ask of the encoder's stages."""

from torch import nn

from network.encoders.stages import encoder_stages
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
