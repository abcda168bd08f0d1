"""Which parts of a model stay in float32, so that its int8 file loses no more mean IoU than a budget allows."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np

from engine.export.parity import Label
from utils.constants import IGNORE_LABEL
from utils.errors import CheckpointError
from utils.logging import get_logger
from utils.metrics.confusion import compute_metrics, confusion_matrix

Build = Callable[[Collection[str] | None], Label]  # parts in float32 (None: all) -> an exported model


@dataclass(frozen=True)
class Trial:
    """A file that was tried.

    Attributes:
        floats: Parts in float32; None: the file in float32.
        mean_iou: Fraction of 1.
        milliseconds: Median processor time of an image, of all threads together: other work doesn't change it.
    """

    floats: tuple[str, ...] | None
    mean_iou: float
    milliseconds: float

    def __str__(self) -> str:
        parts = (
            "float32" if self.floats is None else f"int8 but for {', '.join(self.floats)}" if self.floats else "int8"
        )
        return f"mean IoU {100 * self.mean_iou:.2f}, {self.milliseconds:.1f} ms of processor time an image: {parts}"


@dataclass(frozen=True)
class Budget:
    """What int8 may cost, and on what it is measured.

    Attributes:
        points: Largest loss of mean IoU, in points (0.2: from 76.24 to 76.04).
        samples: Gives the images (H,W,3) uint8 and true train ids (H,W) uint8, anew each time it is called.
        names: Class names.
    """

    points: float
    samples: Callable[[], Iterable[tuple[np.ndarray, np.ndarray | None]]]
    names: list[str]

    def choose(self, build: Build, parts: Collection[str]) -> list[Trial]:
        """Keep parts in float32, those first that cost the most by themselves, until the loss is within the budget.

        Returns:
            What was tried on the way: float32, int8, and with ever more parts in float32. The last is the choice.

        Raises:
            CheckpointError: It isn't, not even with all parts but one in float32.
        """
        trials = [self.measure(build, None), self.measure(build, ())]
        if self._fits(trials):
            return trials
        alone = {part: self.measure(build, (part,)) for part in parts}
        order = sorted(parts, key=lambda part: alone[part].mean_iou, reverse=True)
        for count in range(1, len(order)):
            floats = tuple(order[:count])
            trials.append(alone[floats[0]] if count == 1 else self.measure(build, floats))
            if self._fits(trials):
                return trials
        loss = 100 * (trials[0].mean_iou - trials[1].mean_iou)
        raise CheckpointError(
            f"--int8_budget {self.points:g}: in int8 the model loses {loss:.2f} points of mean IoU, and too many"
            f" with all of {', '.join(parts)} but one in float32 as well; raise it, or export in float32"
        )

    def measure(self, build: Build, floats: tuple[str, ...] | None) -> Trial:
        """Score a file, and take its time."""
        label, matrix, times = build(floats), np.zeros((len(self.names),) * 2, np.int64), []
        for image, truth in self.samples():
            start = time.process_time()
            labels = label(image)
            times.append(time.process_time() - start)
            matrix = matrix + confusion_matrix(labels, truth, len(self.names), IGNORE_LABEL)
        times = times[1:] or times  # the first image warms up
        trial = Trial(floats, compute_metrics(matrix, self.names)["mean_iou"], 1000 * median(times))
        get_logger().info(str(trial))
        return trial

    def _fits(self, trials: list[Trial]) -> bool:
        return 100 * (trials[0].mean_iou - trials[-1].mean_iou) <= self.points


def to_dicts(trials: Iterable[Trial]) -> list[dict]:
    """As plain data."""
    return [asdict(trial) for trial in trials]
