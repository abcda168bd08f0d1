"""The training step as code of torch.compile, once it has shown on a real batch that it computes the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.training.step import Criterion
from utils.distributed import any_rank, barrier, note
from utils.errors import EnvironmentFault, first_line
from utils.logging import get_logger

LOGITS_TOLERANCE = 1e-4  # largest difference over the largest logit
GRADIENT_TOLERANCE = 1e-3  # norm of the difference over the norm, all gradients of the weights together


class Pass(NamedTuple):
    """What a forward and backward pass gives."""

    logits: Tensor
    gradients: list[Tensor]


class CompiledStep:
    """Compiles a model and, on CUDA, its criterion, in PyTorch's default mode for shapes that stay.

    The other modes aren't offered: max-autotune takes Triton's convolutions, which are wrong for some shapes, and
    reduce-overhead overwrites what earlier steps returned. On a CPU the criterion makes its gradient strip by strip as
    its values say (loss/fused.py), which can't be traced. The model itself stays as it is, with its state-dict keys;
    validation and snapshots know nothing of compiled code.

    Args:
        model: The bare model, on its device.
        criterion: Outputs and labels -> named terms with `total`; its parts are compiled, not what puts them together,
            which knows the epoch.
        dtype: Of autocast while training; None: off.
        device: Where to compute.
        memory_format: Layout of the images.
        augment: Makes `image` and `label` of a batch on the device; None: they are there already.
        backend: Of torch.compile.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        dtype: torch.dtype | None,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        augment: Callable[[dict], dict] | None = None,
        backend: str = "inductor",
    ) -> None:
        self.model, self.criterion, self.dtype, self.device = model, criterion, dtype, device
        self.memory_format, self.augment, self.backend = memory_format, augment, backend
        self.started, self.counts = False, {}

    def start(self, parallel: nn.Module, batch: dict) -> nn.Module:
        """Compile, and compare with the model on a batch of the run, in float32 and with the same dropout masks.

        Weights, gradients, norm statistics and the state of random numbers stay as they are. Where the results differ
        on any process, all of them go on without compiled code, which the log says.

        Args:
            parallel: What steps call now: the model or its DDP wrapper.
            batch: As the loader gives it.

        Returns:
            What steps have to call from now on.

        Raises:
            EnvironmentFault: The compiler doesn't work here.
        """
        import torch._dynamo  # takes seconds, so only here

        self.started = True
        note("compiling the model")  # takes minutes
        torch._dynamo.config.optimize_ddp = False  # its cuts between buckets don't go with a static graph
        compiled, parts = self._compile(self.model), dict(self.criterion.named_children())
        try:
            with untouched(self.model, self.device):
                agreed = self._try(compiled, batch)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = first_line(getattr(error, "inner_exception", error))
            raise EnvironmentFault(
                f"--compile: PyTorch's compiler fails here ({reason}); it needs a C++ compiler, and Triton on a GPU;"
                " install them, or leave --compile out"
            ) from error
        if not agreed:
            for name, part in parts.items():
                setattr(self.criterion, name, part)
            return parallel
        self.counts = compiler_counts()
        get_logger().info(f"--compile: same results as without; {_said(self.counts)}")
        if parallel is self.model:
            return compiled
        parallel.module = compiled
        return parallel

    def report(self) -> None:
        """Say in the log what was compiled, or given up, since it was said last: with steps alike nothing is."""
        if self.counts and (counts := compiler_counts()) != self.counts:
            self.counts = counts
            get_logger().warning(f"--compile: compiled again or given up while training; now {_said(counts)}")

    def _compile(self, module: nn.Module) -> nn.Module:
        # dropout masks as without compiling, so that results can be compared
        options = {"fallback_random": True} if self.backend == "inductor" else None
        return torch.compile(module, backend=self.backend, dynamic=False, options=options)

    def _try(self, compiled: nn.Module, batch: dict) -> bool:
        """False, and a warning, if results differ on any process; else what steps will run is compiled."""
        batch = batch if self.augment is None else self.augment(batch)
        images = batch["image"].to(self.device, memory_format=self.memory_format)
        labels = batch["label"].to(self.device)
        difference = self._compare(compiled, images, labels)
        barrier()  # the others may take longer
        if any_rank(difference is not None):
            get_logger().warning(f"--compile: {difference or 'on another process results differ'}; goes on without it")
            return False
        self._pass(compiled, images, labels, self.dtype)
        barrier()
        return True

    def _compare(self, compiled: nn.Module, images: Tensor, labels: Tensor) -> str | None:
        """In words, how compiled code differs; None: it doesn't. On CUDA the criterion's parts are compiled, too."""
        try:
            with exact_float32():
                expected = self._pass(self.model, images, labels, None)
                if self.device.type == "cuda":
                    for name, part in list(self.criterion.named_children()):
                        setattr(self.criterion, name, self._compile(part))
                return describe_difference(self._pass(compiled, images, labels, None), expected)
        except torch.OutOfMemoryError:
            return "a step in float32, to compare with, doesn't fit into the memory"

    def _pass(self, model: nn.Module, images: Tensor, labels: Tensor, dtype: torch.dtype | None) -> Pass:
        torch.manual_seed(0)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            outputs = model(images)
            total = self.criterion(outputs, labels)["total"]
        gradients = torch.autograd.grad(total, trained, allow_unused=True)
        return Pass(outputs["logits"].detach(), [g for g in gradients if g is not None])


def describe_difference(found: Pass, expected: Pass) -> str | None:
    """How two passes differ by more than the tolerances, in words; None: they don't."""
    logits = (found.logits - expected.logits).abs().max() / expected.logits.abs().max()
    gradients = _norm([a - b for a, b in zip(found.gradients, expected.gradients, strict=True)])
    gradients /= _norm(expected.gradients)
    if logits <= LOGITS_TOLERANCE and gradients <= GRADIENT_TOLERANCE:  # nan is neither
        return None
    return (
        f"in float32 compiled logits are off by {logits:.1e} of the largest (allowed {LOGITS_TOLERANCE}), gradients by"
        f" {gradients:.1e} of their norm (allowed {GRADIENT_TOLERANCE})"
    )


def compiler_counts() -> dict[str, int]:
    """What PyTorch's compiler has done in this process so far."""
    from torch._dynamo.utils import counters  # takes seconds, so only here

    names = {"graphs": counters["stats"]["unique_graphs"], "breaks": sum(counters["graph_break"].values())}
    return names | {"untraceable": sum(counters["unimplemented"].values())}


@contextmanager
def untouched(model: nn.Module, device: torch.device) -> Iterator[None]:
    """A block after which the model's buffers and the state of random numbers are as before."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            for buffer, value in before:
                buffer.copy_(value)


@contextmanager
def exact_float32() -> Iterator[None]:
    """A block in which CUDA doesn't round float32 to TF32."""
    places = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.norm() for tensor in tensors]).norm()


def _said(counts: dict[str, int]) -> str:
    graphs, breaks, left = counts["graphs"], counts["breaks"], counts["untraceable"]
    return f"{graphs} graphs, {breaks} breaks, {left} places left as they are (not traceable, or compiled too often)"
