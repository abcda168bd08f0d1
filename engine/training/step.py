"""One optimizer step and what it needs."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from engine.inference.precision import Precision
from utils.distributed import gather_objects

GRAD_NORM = "grad_norm"  # no term of the loss, but reported with them
Criterion = Callable[[dict, Tensor], dict[str, Tensor]]


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step, so that dropout doesn't depend on what ran before."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1))


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The batch norms of a model, plain or synchronised."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def set_train_mode(model: nn.Module, frozen_norms: Iterable[nn.Module]) -> None:
    """Training mode; `frozen_norms` keep using their saved statistics."""
    model.train()
    for norm in frozen_norms:
        norm.eval()


def train_step(
    model: nn.Module,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    batches: list[dict],
    precision: Precision,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    augment: Callable[[dict], dict] | None = None,
    clip_grad: float | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """One optimizer step over `batches`, whose gradients are averaged; the host doesn't wait for the device.

    Args:
        model: In training mode, possibly wrapped in DDP.
        criterion: Outputs and labels -> named terms with `total`.
        optimizer: Of `build_optimizer`; holds the learning rate of this step already.
        batches: One or more (gradient accumulation), with `image`, `label` and perhaps a `teacher`'s maps on the
            CPU, or what `augment` takes.
        precision: Mixed precision.
        device: Where to compute.
        memory_format: Layout of the images.
        augment: Makes `image` and `label` on the device; None: they are there already.
        clip_grad: Norm of all gradients together to which a larger one is shortened; None: none is.

    A loss or gradient that isn't finite leaves weights, optimizer and the norms' statistics as they were. All
    processes decide alike, because a loss that isn't finite makes the gradients that they share not finite.

    Returns:
        The named terms, detached, averaged over `batches`, with `clip_grad` the gradients' norm too, and whether the
        weights were updated, a bool; all on the device.
    """
    terms: dict[str, Tensor] = {}
    statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    before = torch._foreach_add(statistics, 0.0) if statistics else []
    optimizer.zero_grad(set_to_none=True)
    for i, batch in enumerate(batches):
        batch = batch if augment is None else augment(batch)
        last = i == len(batches) - 1
        with nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync():
            with torch.autocast(device.type, precision.dtype, enabled=precision.dtype is not None):
                losses = _losses(model, criterion, batch, device, memory_format)
            total = losses["total"] * torch.where(losses["total"].detach().isfinite(), 1.0, math.nan)
            precision.scaler.scale(total / len(batches)).backward()
        for name, value in losses.items():
            terms[name] = terms.get(name, 0) + value.detach() / len(batches)
    if clip_grad is None:
        finite = gradients_are_finite(optimizer)
    else:
        precision.scaler.unscale_(optimizer)  # nothing without a scaler
        terms[GRAD_NORM] = clip_gradients(optimizer, clip_grad)
        finite = terms[GRAD_NORM].isfinite()
    if precision.scaler.is_enabled():  # it looks at the gradients itself, and lowers its scale
        precision.scaler.step(optimizer)
        precision.scaler.update()
    else:
        step_if_finite(finite, optimizer)
    restore_unless(finite, statistics, before)
    return terms, finite


def _losses(
    model: nn.Module, criterion: Criterion, batch: dict, device: torch.device, memory_format: torch.memory_format
) -> dict[str, Tensor]:
    """The named terms of a batch, which needs not be on the device."""
    images = batch["image"].to(device, non_blocking=True, memory_format=memory_format)
    labels = batch["label"].to(device, non_blocking=True).long()
    outputs = model(images)
    if "teacher" in batch:
        outputs = outputs | {"teacher": batch["teacher"].to(device, non_blocking=True)}
    return criterion(outputs, labels)


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Those that there are, in the order of the parameters."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def clip_gradients(optimizer: torch.optim.Optimizer, largest: float) -> Tensor:
    """Shorten all gradients alike where their norm is above `largest`; the norm before, a scalar on the device.

    It isn't finite where a gradient isn't; then there is nothing to step with.
    """
    gradients = gradients_of(optimizer)
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, (largest / norm).clamp(max=1.0))
    return norm


def gradients_are_finite(optimizer: torch.optim.Optimizer) -> Tensor:
    """False, a bool on the device, if any gradient holds nan or inf."""
    gradients = gradients_of(optimizer)
    if gradients[0].is_cuda:
        extremes = torch._foreach_norm(gradients, math.inf)
    else:  # whose kernel for that norm is a tenth as fast
        extremes = [value for gradient in gradients for value in torch.aminmax(gradient)]
    return torch.stack(extremes).isfinite().all()


def step_if_finite(wanted: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """An optimizer's step, without any effect where `wanted`, a bool on the device, is false.

    A fused optimizer decides on the device; for another one the host waits for `wanted`.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        if wanted.item():
            optimizer.step()
        return
    optimizer.grad_scale, optimizer.found_inf = None, (~wanted).float()  # as GradScaler asks for it
    optimizer.step()
    del optimizer.grad_scale, optimizer.found_inf


def restore_unless(wanted: Tensor, values: list[Tensor], former: list[Tensor]) -> None:
    """Give `values` their `former` ones where `wanted`, a bool on the device, is false."""
    if not values:
        return
    present, past = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (values, former))
    chosen = torch.where(wanted, present, past).split([value.numel() for value in values])
    torch._foreach_copy_(values, [part.view_as(value) for part, value in zip(chosen, values, strict=True)])


def describe_skipped(terms: dict[str, float], samples: list[str]) -> tuple[str, bool]:
    """In words, the same on all ranks: whose loss terms and samples a skipped step had, and whether a loss is to blame.

    Where every loss is finite a gradient wasn't, and all samples may be to blame.
    """
    losses = {name: value for name, value in terms.items() if name != GRAD_NORM}  # which all ranks share
    ranks = gather_objects((losses, samples))
    guilty = [rank for rank, (values, _) in enumerate(ranks) if not all(map(math.isfinite, values.values()))]
    lines = []
    for rank in guilty or range(len(ranks)):
        values, names = ranks[rank]
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        lines.append(f"rank {rank}: {shown}, samples {', '.join(names)}")
    return "; ".join(lines), bool(guilty)


def grouped(loader: Iterable[dict], size: int) -> Iterator[list[dict]]:
    """Lists of `size` batches; an incomplete last list is dropped."""
    group: list[dict] = []
    for batch in loader:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
