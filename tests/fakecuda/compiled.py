"""Compiled steps on a GPU that isn't there: what PyTorch's compiler makes of model and criterion."""

import contextlib
from collections.abc import Iterator

import torch
import torch._dynamo
import torch.distributed as dist
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.testing._internal.distributed.fake_pg import FakeStore

import network
from loss import LossOptions, build_loss
from tests.fakecuda.device import CUDA, fake_cuda
from tests.fakecuda.matrix import CLASSES
from utils.nested import named_tensors


def breaks_of(arch: str, loss: str, synchronised: bool, **options: object) -> list[str]:
    """Faults in words: a model that isn't one graph, or a break in it or in a part of the criterion.

    Forward and backward of a step in bf16, traced as `--compile` traces it on CUDA. What a break leaves may not
    run on tensors without values; that the break was there is said all the same. `options` are the model's.
    """
    torch._dynamo.reset()
    counters.clear()
    torch._dynamo.config.recompile_limit = 64
    stats = counters["stats"]
    graphs = heads = 0
    with fake_cuda(), two_processes(synchronised), contextlib.suppress(DynamicOutputShapeException):
        model = network.build_model(arch, CLASSES, **options).train()
        model = network.synchronise_norms(model) if synchronised else model
        model = model.to(CUDA, memory_format=torch.channels_last)
        criterion = build_loss(LossOptions(loss=loss), CLASSES)
        images = torch.zeros(2, 3, 128, 128, device=CUDA).to(memory_format=torch.channels_last)
        labels = torch.zeros(2, 128, 128, dtype=torch.int64, device=CUDA)
        with torch.autocast("cuda", torch.bfloat16):
            outputs = torch.compile(model, backend="eager", dynamic=False)(images)
        graphs = stats["unique_graphs"]
        for name, part in list(criterion.named_children()):
            setattr(criterion, name, torch.compile(part, backend="eager", dynamic=False))
        with torch.autocast("cuda", torch.bfloat16):
            criterion(outputs, labels)["total"].backward()
        heads = len(list(named_tensors(outputs)))
    faults = [f"break: {reason}" for kind in ("graph_break", "unimplemented") for reason in counters[kind]]
    if graphs != 1:
        faults.append(f"the model is {graphs} graphs")
    if not 1 <= stats["unique_graphs"] - graphs <= heads:
        faults.append(f"the criterion is {stats['unique_graphs'] - graphs} graphs for {heads} heads")
    return faults


@contextlib.contextmanager
def two_processes(wanted: bool) -> Iterator[None]:
    """A block in which there seems to be another process, which collectives of the norms are for."""
    if wanted:
        dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        yield
    finally:
        if wanted:
            dist.destroy_process_group()
