"""What computes a model's enhancement filters."""

from torch import nn

from network.parts.depthwise import depthwise_conv2d
from network.parts.enhancement import FeatureFilter
from utils.kernels import note_fallback, require_triton


def use_kernels(model: nn.Module, kernels: str) -> nn.Module:
    """Let `torch` or `triton` compute the enhancement filters of `model`, in place; weights and results stay.

    Raises:
        EnvironmentFault: Triton's kernels, and the package isn't installed.
    """
    convolve = depthwise_conv2d
    if kernels == "triton":
        require_triton()
        from network.triton.depthwise import depthwise_conv2d as convolve
    filters = [module for module in model.modules() if isinstance(module, FeatureFilter)]
    for module in filters:
        module.convolve = convolve
    if kernels == "triton" and not filters:
        note_fallback("the whole model, which has no enhancement filter")
    return model
