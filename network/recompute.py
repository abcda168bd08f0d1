"""Less memory for a training step: parts of a model are computed again in the backward pass instead of kept.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174, 2016.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

from utils.errors import OptionError

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Unit(NamedTuple):
    """A function of a model of which a training step keeps the arguments alone."""

    owner: nn.Module
    method: str
    parts: Sequence[nn.Module]  # that it calls

    @classmethod
    def of(cls, module: nn.Module) -> "Unit":
        """A whole module."""
        return cls(module, "forward", (module,))


def blocks(module: nn.Module) -> Iterator[Unit]:
    """The outermost modules in sequences that are made of further ones: the blocks of an encoder's stages."""
    for child in module.children():
        if isinstance(module, nn.Sequential) and any(True for _ in child.children()):
            yield Unit.of(child)
        else:
            yield from blocks(child)


def checkpoint_activations(model: nn.Module) -> nn.Module:
    """Have `model` keep only what goes into its `checkpoint_units()` while it trains; its state-dict keys stay.

    Gradients, running statistics and dropout masks are those of the model without it. What the units of the family are
    was decided by what each part keeps and what it costs, with batches of 2 crops of 128x128 (shares of the bytes kept,
    and of the multiply-accumulates of a forward pass, which a step makes three times):

    | part | fenet_r18 | fenet_r50 | sfnet_r18 | |
    | --- | --- | --- | --- | --- |
    | stem, up to the pooling | 32 %, 15 % | 15 %, 5 % | 44 %, 24 % | unit |
    | blocks of the stages | 17 %, 20 % | 39 %, 14 % | 22 %, 32 % | units |
    | laterals, flow alignment | 5 %, 1 % | 4 %, 1 % | 9 %, 2 % | units |
    | FEM-D and FEM-S; outputs of SFNet | 35 %, 43 % | 32 %, 52 % | 9 %, 10 % | units |
    | head | 11 %, 20 % | 10 %, 25 % | 14 %, 32 % | kept: most of it is the map that goes in |
    | pyramid pooling, auxiliary heads | 1 %, 1 % | 2 %, 3 % | 1 %, 0 % | kept |

    Returns:
        The model.

    Raises:
        OptionError: The model doesn't say what can be computed again.
    """
    if not hasattr(model, "checkpoint_units"):
        raise OptionError(
            f"--checkpoint_activations: {type(model).__name__} doesn't say which of its parts can be computed again;"
            " leave the flag out, or take a fenet, sfnet or sfnet_lite model"
        )
    for unit in model.checkpoint_units():
        function = getattr(unit.owner, unit.method)
        setattr(unit.owner, unit.method, partial(_recomputed, unit, function))
    return model


def _recomputed(unit: Unit, function: Callable, *args, **options):
    """`function`, whose inner results are dropped and recomputed in the backward pass."""
    if not (unit.owner.training and torch.is_grad_enabled()):
        return function(*args, **options)
    # one by one, so that tensors in lists and keywords are kept like others, and a list that `function` alters is new
    leaves, structure = tree_flatten((args, options))

    def call(*values):
        args, options = tree_unflatten(values, structure)
        return function(*args, **options)

    return checkpoint(call, *leaves, use_reentrant=False, context_fn=partial(_contexts, unit.parts))


def _contexts(parts: Sequence[nn.Module]) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _statistics_kept(parts)


@contextmanager
def _statistics_kept(parts: Sequence[nn.Module]) -> Iterator[None]:
    """A block in which batch norms update copies of their running statistics, which moved in the forward pass already.

    Copies, because without any a norm would save fewer tensors than in the forward pass.
    """
    norms = [norm for part in parts for norm in part.modules() if isinstance(norm, _BatchNorm)]
    own = [(norm, name, value) for norm in norms for name in STATISTICS if (value := getattr(norm, name)) is not None]
    for norm, name, value in own:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in own:
            setattr(norm, name, value)
