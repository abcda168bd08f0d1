"""What models with parts of other libraries need before they can be trained like our own."""

import torch
from torch import nn
from torch.func import functional_call

from network.parts.enhancement import least_side
from utils.nested import named_tensors


def freeze_unused(model: nn.Module) -> list[str]:
    """Take no gradients of parameters that no output depends on, which distributed training would wait for.

    Such are the last stages of an encoder whose decoder reads only the first ones. One step on the meta device, without
    arithmetic, tells them apart; it fails where the parts of `model` don't fit together.

    Returns:
        Their names.
    """
    parameters = {name: torch.empty_like(value, device="meta") for name, value in model.named_parameters()}
    buffers = {name: torch.empty_like(value, device="meta") for name, value in model.named_buffers()}
    for value in parameters.values():
        value.requires_grad_()
    least = least_side(model)
    images = torch.empty(2, 3, max(128, least), max(192, least), device="meta")
    outputs = functional_call(model.train(), {**parameters, **buffers}, images)
    total = torch.stack([value.sum() for _, value in named_tensors(outputs)]).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    unused = [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]
    for name in unused:
        model.get_parameter(name).requires_grad_(False)
    return unused
