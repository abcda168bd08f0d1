"""Mistakes made by hand, each of which the harness has to find at the line that is marked."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import engine.training.step as step
import loss.whole_maps as whole_maps
import network.kernels as kernels
import network.parts.alignment as alignment
import network.parts.group_norm as group_norm
import network.parts.layers as layers
import optimizer.sgd as sgd
from tests.fakecuda import runs

finite, residual, create = step.gradients_are_finite, layers.ResidualBlock.forward, runs.create_model


def item(optimizer: torch.optim.Optimizer) -> Tensor:
    wanted = finite(optimizer)
    print(wanted.item())  # host sync: _local_scalar_dense
    return wanted


def copied_to_the_host(optimizer: torch.optim.Optimizer) -> Tensor:
    return finite(optimizer).cpu()  # host sync: _to_copy


def copied_from_a_list(optimizer: torch.optim.Optimizer) -> Tensor:
    return finite(optimizer) & torch.tensor([True], device="cuda")  # host sync: _to_copy


def indexed_by_a_mask(values: Tensor, mask: Tensor) -> Tensor:
    return values[mask].mean()  # host sync: index


def counted_by_nonzero(values: Tensor, mask: Tensor) -> Tensor:
    return values.where(mask, 0.0).sum() / len(mask.nonzero())  # host sync: nonzero


def left_on_the_cpu(values: Tensor, mask: Tensor) -> Tensor:
    return (values * torch.ones(values.shape)).mean()  # mixed devices: mul


def cast_to_float32(self: nn.Module, x: Tensor) -> Tensor:
    return residual(self, x.float()).to(x.dtype)  # float32: _to_copy


def convolved_in_float32(x: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    with torch.autocast("cuda", enabled=False):
        y = F.conv2d(x.float(), kernel, padding=padding, groups=x.shape[1])  # float32: convolution
    return y.to(x.dtype)


def normed_in_float32(self: nn.Module, x: Tensor) -> Tensor:
    return F.group_norm(x, self.num_groups, self.weight, self.bias)  # float32: native_group_norm


def moments_of_other_strides(optimizer: torch.optim.Optimizer) -> None:
    for parameter in optimizer.param_groups[0]["params"]:
        moment = torch.zeros(parameter.shape, device=parameter.device)
        optimizer.state[parameter]["momentum_buffer"] = moment


def sampled_in_random_order(x: Tensor, grid: Tensor) -> Tensor:
    return torch.ops.aten.grid_sampler_2d(x, grid, 0, 0, True)


def sampled_by_cudnn(x: Tensor, flow: Tensor) -> Tensor:
    return F.grid_sample(x, flow.float().permute(0, 2, 3, 1), align_corners=True)  # no fake kernel: cudnn_grid_sampler


def with_an_unused_parameter(*args: object) -> nn.Module:
    model = create(*args)
    model.unused = nn.Parameter(torch.zeros(3))
    return model


def copied_often(self: nn.Module, x: Tensor) -> Tensor:
    return residual(self, sum(x / 8 for _ in range(8)))


PLACES = {  # function -> what it replaces
    item: (step, "gradients_are_finite"),
    copied_to_the_host: (step, "gradients_are_finite"),
    copied_from_a_list: (step, "gradients_are_finite"),
    indexed_by_a_mask: (whole_maps, "masked_mean"),
    counted_by_nonzero: (whole_maps, "masked_mean"),
    left_on_the_cpu: (whole_maps, "masked_mean"),
    cast_to_float32: (layers.ResidualBlock, "forward"),
    convolved_in_float32: (kernels, "depthwise_conv2d"),
    normed_in_float32: (group_norm.GroupNorm, "forward"),
    moments_of_other_strides: (sgd, "_fill_momentum"),
    sampled_in_random_order: (alignment, "sample_by_gather"),
    sampled_by_cudnn: (alignment, "warp"),
    with_an_unused_parameter: (runs, "create_model"),
    copied_often: (layers.ResidualBlock, "forward"),
}
FAULTS = {function.__name__: function for function in PLACES}


@contextmanager
def injected(name: str | None) -> Iterator[None]:
    """A block with a fault in the product; without a name, none."""
    if name is None:
        yield
        return
    with mock.patch.object(*PLACES[FAULTS[name]], FAULTS[name]):
        yield
