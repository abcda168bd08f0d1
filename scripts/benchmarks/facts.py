"""What the facts of gpu_facts.py share: where they are found, a training step to try, differences and times."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import network
from engine.inference.precision import Precision
from engine.training.step import train_step
from loss import LossOptions, build_loss
from optimizer import OptimizerOptions, build_optimizer

CLASSES = 19
LAST, FLAT = torch.channels_last, torch.contiguous_format
LAYOUTS = {"channels_last": LAST, "NCHW": FLAT}
CPU = torch.device("cpu")
Row = Callable[[], dict]  # what is found, with `ok`


@dataclass(frozen=True)
class Place:
    """A device, what computes losses and filters there, and whether models are small, which tries the programs only."""

    device: torch.device
    kernels: str = "torch"
    small: bool = False

    @property
    def cuda(self) -> bool:
        """Whether times and memory can be measured here."""
        return self.device.type == "cuda"

    def build_model(self, arch: str, dropout: float = 0.0) -> nn.Module:
        """A registered model on the device with the same weights each time; where all is small a narrow fenet_tiny."""
        torch.manual_seed(0)
        size = {"channels": 8} if self.small else {}
        model = network.build_model("fenet_tiny" if self.small else arch, CLASSES, dropout=dropout, **size)
        return network.use_kernels(model.train().to(self.device), self.kernels)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def milliseconds(self, run: Callable[[], object], rounds: int = 7, warmup: int = 3) -> float:
        """Median time of a call, the device's work included."""
        if self.small:
            rounds, warmup = 1, 0
        times = []
        for turn in range(warmup + rounds):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            times.append(1e3 * (time.perf_counter() - start))
            if turn < warmup:
                times.clear()
        return round(statistics.median(times), 3)

    def peak_bytes(self, run: Callable[[], object]) -> int | None:
        """The most memory that a call adds to what is held; None on a CPU."""
        if not self.cuda:
            run()
            return None
        self.wait()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        self.wait()
        return torch.cuda.max_memory_allocated() - before


@dataclass(frozen=True, eq=False)
class Trial:
    """A training step with OHEM on all heads, as train.py makes it, on 2 random crops."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: dict
    run: Callable[[], tuple[dict[str, Tensor], Tensor]]

    @classmethod
    def build(
        cls,
        place: Place,
        arch: str = "fenet_tiny",
        layout: torch.memory_format = LAST,
        amp: str = "bf16",
        optimizer: str = "sgd",
        side: int = 128,
        dropout: float = 0.0,
    ) -> "Trial":
        """Weights, images (2,3,side,side) and labels are the same each time; pinned where CUDA reads them."""
        model = place.build_model(arch, dropout).to(memory_format=layout)
        criterion = build_loss(LossOptions(loss="ohem"), CLASSES, kernels=place.kernels)
        generator = torch.Generator().manual_seed(1)
        batch = {
            "image": torch.randn(2, 3, side, side, generator=generator),
            "label": torch.randint(0, CLASSES, (2, side, side), generator=generator),
        }
        if place.cuda:
            batch = {name: values.pin_memory() for name, values in batch.items()}
        built = build_optimizer(model, OptimizerOptions(optimizer=optimizer, lr=1e-3))
        precision = Precision.build(amp, place.device)

        def run() -> tuple[dict[str, Tensor], Tensor]:
            return train_step(model, criterion, built, [batch], precision, place.device, layout)

        return cls(model, built, batch, run)

    def gradient(self) -> Tensor:
        """Of all parameters, (P,) float32 on the CPU."""
        return torch.cat([parameter.grad.flatten().float().cpu() for parameter in self.model.parameters()])


def difference(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    found, expected = (values.detach().double().cpu() for values in (found, expected))
    return float(f"{((found - expected).norm() / expected.norm()).item():.2e}")
