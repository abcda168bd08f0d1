"""torch.compile for training and inference: where its results differ, or it fails, a warning says so and eager runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from network.parts.sync_norm import SyncNorm
from utils.distributed import any_rank, barrier, note
from utils.errors import EnvironmentFault, FENetError, first_line
from utils.logging import get_logger

SIZES = 8  # of images that a model is compiled for; PyTorch's own limit
TOLERANCE, REDUCED_TOLERANCE = 1e-4, 5e-2  # largest difference over the largest value: in float32, in half precision
VARIANTS = 64  # of one function: a part of the criterion has one for each head, in float32 and in mixed precision
GRADIENT_TOLERANCE = 1e-3  # norm of the difference over the norm, all gradients of the weights together


class Pass(NamedTuple):
    """What a pass gives: logits or a loss; in training also the gradients of the weights."""

    output: Tensor
    gradients: Sequence[Tensor] = ()


def describe_difference(found: Pass, expected: Pass, tolerance: float = TOLERANCE) -> str | None:
    """How two passes differ by more than the tolerances, in words; None: they don't."""
    output = _relative([found.output], [expected.output], torch.inf)
    gradients = _relative(found.gradients, expected.gradients, 2) if expected.gradients else 0.0
    if output <= tolerance and gradients <= GRADIENT_TOLERANCE:  # nan is neither
        return None
    return (
        f"compiled results are off by {output:.1e} of the largest (allowed {tolerance:g}), gradients by"
        f" {gradients:.1e} of their norm (allowed {GRADIENT_TOLERANCE:g})"
    )


def _relative(found: Sequence[Tensor], expected: Sequence[Tensor], order: float) -> float:
    off = [a.float() - b.float() for a, b in zip(found, expected, strict=True)]
    norms = [torch.stack([x.float().norm(order) for x in tensors]).norm(order) for tensors in (off, expected)]
    return (norms[0] / norms[1].clamp_min(1e-12)).item()


def passes(check: Callable[[], str | None], otherwise: str, together: bool = False) -> bool:
    """False, and a warning, where `check` returns a fault or raises.

    Args:
        check: Runs compiled code; returns what is wrong with it, None: nothing.
        otherwise: What happens then, for the warning.
        together: Processes decide as one: a fault of any is a fault of all.
    """
    try:
        fault = check()
    except FENetError:
        raise
    except Exception as error:  # the compiler raises many kinds
        fault = _compiler_fault(error)
    if together:
        barrier()  # compiling takes some longer than others
        if any_rank(fault is not None):
            fault = fault or "another process finds a fault"
    if fault is not None:
        get_logger().warning(f"--compile: {fault}; {otherwise}")
    return fault is None


def _compiler_fault(error: Exception) -> str:
    reason = first_line(getattr(error, "inner_exception", None) or error)
    return f"PyTorch's compiler fails here ({reason}); it needs memory, a C++ compiler, and Triton on a GPU"


def _end_all(check: Callable[[], str | None]) -> str | None:
    """`check` with synchronised norms: where it raises, those of the other processes wait in vain, so the job ends."""
    try:
        return check()
    except Exception as error:
        fault = (
            f"--compile: {_compiler_fault(error)}; norms of the other processes wait for this one: leave --compile out"
        )
        raise EnvironmentFault(fault) from error


def compiler_counts() -> str:
    """What PyTorch's compiler has done in this process so far."""
    from torch._dynamo.utils import counters  # takes seconds, so only here

    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    left = sum(counters["unimplemented"].values())
    return f"{graphs} graphs, {breaks} breaks, {left} places left as they are (not traceable, or compiled too often)"


class CompiledModel:
    """Images (N,3,H,W) -> what `model` returns, compiled for the first `SIZES` sizes; its attributes are the model's.

    On CUDA it is replayed as a CUDA graph.

    Args:
        model: In evaluation mode, on its device.
        reduced: It will run in reduced precision, where more rounding is allowed.
        backend: Of `torch.compile`.
    """

    def __init__(self, model: nn.Module, reduced: bool = False, backend: str | Callable = "inductor") -> None:
        self._model, self._tolerance = model, REDUCED_TOLERANCE if reduced else TOLERANCE
        cuda = next(model.parameters()).device.type == "cuda"
        mode = "reduce-overhead" if cuda and backend == "inductor" else None  # without autotuning, whose kernels err
        self._compiled = torch.compile(model, backend=backend, mode=mode, dynamic=False)
        self._agrees: dict[tuple[int, ...], bool] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, images: Tensor) -> dict:
        return (self._compiled if self.agrees_on(images) else self._model)(images)

    def agrees_on(self, images: Tensor) -> bool:
        """Whether compiled code predicts images of this size; the first ones of a size are compared."""
        size = tuple(images.shape)
        if size not in self._agrees:
            otherwise = f"images of {'x'.join(map(str, size[-2:]))} are predicted without it"
            self._agrees[size] = passes(lambda: self._compare(images), otherwise)
        return self._agrees[size]

    def _compare(self, images: Tensor) -> str | None:
        if len(self._agrees) >= SIZES:
            return f"there are more than {SIZES} sizes"
        expected, found = (Pass(model(images)["logits"]) for model in (self._model, self._compiled))
        return describe_difference(found, expected, self._tolerance)


@dataclass(eq=False, repr=False)
class CompiledStep:
    """Compiles a model and, on CUDA, the parts of its criterion, in PyTorch's default mode for shapes that stay.

    The other modes aren't offered: max-autotune takes Triton's convolutions, which are wrong for some shapes, and
    reduce-overhead overwrites what earlier steps returned. On a CPU the criterion can't be traced (loss/fused.py).
    The model itself stays as it is; validation and snapshots know nothing of compiled code.

    Args:
        model: The bare model, on its device.
        criterion: Outputs and labels -> named terms with `total`. What puts its parts together knows the epoch, and
            isn't compiled.
        dtype: Of autocast while training; None: off.
        device: Where to compute.
        memory_format: Layout of the images.
        augment: Makes `image` and `label` of a batch on the device; None: they are there already.
        backend: Of `torch.compile`.
    """

    model: nn.Module
    criterion: nn.Module
    dtype: torch.dtype | None
    device: torch.device
    memory_format: torch.memory_format = torch.contiguous_format
    augment: Callable[[dict], dict] | None = None
    backend: str | Callable = "inductor"
    started: bool = field(default=False, init=False)
    counts: str = field(default="", init=False)

    def start(self, parallel: nn.Module, batch: dict) -> nn.Module:
        """Compile, and compare with the model on a batch of the run, in float32 and with the same dropout masks.

        Weights, gradients, norm statistics and the state of random numbers stay as they are.

        Args:
            parallel: What steps call now: the model or its DDP wrapper.
            batch: As the loader gives it.

        Returns:
            What steps have to call from now on.
        """
        import torch._dynamo  # takes seconds, so only here

        self.started = True
        note("compiling the model")  # takes minutes
        torch._dynamo.config.recompile_limit = VARIANTS  # by default 8, after which it runs as it is
        torch._dynamo.config.optimize_ddp = False  # its cuts between buckets don't go with a static graph
        compiled, parts = self._compile(self.model), dict(self.criterion.named_children())
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            checks = [partial(self._compare, compiled, batch)]
            if any(isinstance(module, SyncNorm) for module in self.model.modules()):
                checks = [self._try_compiler, partial(_end_all, *checks)]
            agreed = all(passes(check, "goes on without it", together=True) for check in checks)
        for buffer, value in buffers:
            buffer.copy_(value)
        if not agreed:
            for name, part in parts.items():
                setattr(self.criterion, name, part)
            return parallel
        self.counts = compiler_counts()
        get_logger().info(f"--compile: same results as without; {self.counts}")
        if parallel is self.model:
            return compiled
        parallel.module = compiled
        return parallel

    def report(self) -> None:
        """Say in the log what was compiled, or given up, since it was said last: with steps alike nothing is."""
        if self.counts and (counts := compiler_counts()) != self.counts:
            self.counts = counts
            get_logger().warning(f"--compile: compiled again or given up while training; now {counts}")

    def _compile(self, module: nn.Module) -> nn.Module:
        # dropout masks as without compiling, so that results can be compared
        options = {"fallback_random": True} if self.backend == "inductor" else None
        return torch.compile(module, backend=self.backend, dynamic=False, options=options)

    def _try_compiler(self) -> None:
        """Fails where there is none, before norms of other processes wait for this one."""
        self._compile(nn.Sigmoid())(torch.zeros(1, device=self.device))

    def _compare(self, compiled: nn.Module, batch: dict) -> str | None:
        batch = batch if self.augment is None else self.augment(batch)
        images = batch["image"].to(self.device, memory_format=self.memory_format)
        labels = batch["label"].to(self.device).long()
        teacher = {"teacher": batch["teacher"].to(self.device)} if "teacher" in batch else {}
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            expected = self._pass(self.model, images, labels, teacher, None)
            for name, part in self.criterion.named_children() if self.device.type == "cuda" else ():
                setattr(self.criterion, name, self._compile(part))
            fault = describe_difference(self._pass(compiled, images, labels, teacher, None), expected)
        # compiles what steps will run; after a fault too, as other processes may find none and norms meet in it
        self._pass(compiled, images, labels, teacher, self.dtype)
        return fault

    def _pass(
        self, model: nn.Module, images: Tensor, labels: Tensor, teacher: dict[str, Tensor], dtype: torch.dtype | None
    ) -> Pass:
        torch.manual_seed(0)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            loss = self.criterion(model(images) | teacher, labels)["total"]
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        return Pass(loss.detach(), [gradient for gradient in gradients if gradient is not None])
