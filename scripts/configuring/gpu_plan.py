"""How the crops of a step are shared out among GPUs of some memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.training.memory import StepMemory
from utils.errors import EnvironmentFault

GIB = 2**30
SMALLEST_CROP = 256


@dataclass(frozen=True)
class Plan:
    """How the crops of a step are shared out: `processes` x `batch` x `accumulate` = `crops`."""

    processes: int
    batch: int
    accumulate: int
    crop: int
    amp: str
    needed: float  # bytes of a GPU's memory

    @property
    def crops(self) -> int:
        """Of a step."""
        return self.processes * self.batch * self.accumulate

    @property
    def norm_crops(self) -> int:
        """Crops that a norm's statistics are over."""
        return self.processes * self.batch


def candidates(gpus: int, limit: float, memory: Callable[[str], StepMemory], crops: int, crop: int) -> Iterator[Plan]:
    """Every plan of `crops` crops a step that fits into `limit` bytes of each of `gpus` GPUs."""
    for amp in ("off", "bf16"):
        for batch in (n for n in range(1, crops + 1) if crops % n == 0):
            side = min(crop, memory(amp).largest_crop(limit, batch))
            for processes in range(1, min(gpus, crops) + 1):
                # a batch of 1 on one process leaves the pyramid pooling's norms one value per channel
                if crops % (processes * batch) == 0 and processes * batch > 1 and side >= min(crop, SMALLEST_CROP):
                    needed = memory(amp).total(batch, side, side)
                    yield Plan(processes, batch, crops // (processes * batch), side, amp, needed)


def best_plan(gpus: int, limit: float, memory: Callable[[str], StepMemory], crops: int, crop: int) -> Plan:
    """The candidate with the largest crop, of these with the most crops per norm, then float32, then most processes.

    Raises:
        EnvironmentFault: There is none.
    """
    found = list(candidates(gpus, limit, memory, crops, crop))
    if not found:
        raise EnvironmentFault(
            f"--memory {limit / GIB:.1f} GiB of each GPU can be used, and not even crops of {SMALLEST_CROP} fit there;"
            " choose a smaller --arch, or larger GPUs"
        )
    return max(found, key=lambda plan: (plan.crop, plan.norm_crops, plan.amp == "off", plan.processes))
