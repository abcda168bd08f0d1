"""What a run writes for people and tools: `metrics.jsonl` and TensorBoard events; silent on all ranks but the first.

Where tensorboardX isn't installed the log says so, and there are no events.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engine.checkpoint.run_state import RunState
from engine.training.events import EventWriter, filter_events
from utils.errors import EnvironmentFault
from utils.files import write_atomically
from utils.logging import get_logger


class Recorder:
    """One line per epoch in `metrics.jsonl`, scalars and pictures in TensorBoard.

    Args:
        folder: The run's folder.
        tensorboard: Folder of the events.
        active: False on all ranks but the first: then every method does nothing.
        state: Where the run resumes: what an interrupted one wrote after that is dropped, it will be written again.
    """

    def __init__(self, folder: Path, tensorboard: Path, active: bool, state: RunState) -> None:
        self.path, self._active = folder / "metrics.jsonl", active
        self._writer = None
        if active:
            _drop_lines(self.path, state)
            try:
                _drop_events(tensorboard, state)
                self._writer = EventWriter(tensorboard)
            except EnvironmentFault as fault:
                get_logger().warning(f"{fault}; this run writes none")

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Scalars of one step under `train/`."""
        if self._writer:
            for name, value in figures.items():
                self._writer.add_scalar(f"train/{name}", value, step)

    def epoch(self, figures: dict) -> None:
        """Append one epoch's figures; `per_class_iou` and the scalars go to TensorBoard too."""
        if not self._active:
            return
        with open(self.path, "a") as file:
            file.write(json.dumps(figures, allow_nan=False) + "\n")
        if not self._writer:
            return
        values = {f"epoch/{name}": value for name, value in figures.items() if name not in ("epoch", "step")}
        values |= {f"iou/{name}": value for name, value in values.pop("epoch/per_class_iou", {}).items()}
        for tag, value in values.items():
            if value is not None:
                self._writer.add_scalar(tag, value, figures["step"])
        self._writer.flush()

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """An RGB picture (H,W,3) uint8."""
        if self._writer:
            self._writer.add_image(name, image, step)

    def flush(self) -> None:
        """Put the scalars so far into the file."""
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Flush everything."""
        if self._writer:
            self._writer.close()


def _drop_events(folder: Path, state: RunState) -> None:
    def keep(step: int, tag: str) -> bool:
        of_the_step = tag.startswith("train/") or not state.step_in_epoch  # the rest comes at the epoch's end
        return 0 < step < state.step or (step == state.step > 0 and of_the_step)

    filter_events(folder, keep)


def _drop_lines(path: Path, state: RunState) -> None:
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if (epoch := _epoch_of(line)) is not None and epoch < state.epoch]
    write_atomically(path, lambda file: file.write("".join(line + "\n" for line in kept).encode()))


def _epoch_of(line: str) -> int | None:
    try:
        return json.loads(line)["epoch"]
    except (ValueError, KeyError, TypeError):
        return None
