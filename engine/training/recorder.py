"""What a run writes for people and tools: `metrics.jsonl` and TensorBoard events; silent on all ranks but the first.

Where tensorboardX isn't installed the log says so, and there are no events.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from engine.checkpoint.run_state import RunState
from engine.training.events import EventWriter, filter_events, mark_owner
from utils.errors import EnvironmentFault
from utils.files import disk_faults, write_atomically
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
        self._folder, self._writer = tensorboard, None
        if active:
            _drop_lines(self.path, state)
            try:
                _drop_events(tensorboard, state)
                mark_owner(tensorboard, folder)
                self._writer = EventWriter(tensorboard)
            except EnvironmentFault as fault:
                get_logger().warning(f"{fault}; this run writes none")

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Scalars of one step under `train/`."""
        self._events(lambda writer: writer.add_scalars({f"train/{name}": v for name, v in figures.items()}, step))

    def epoch(self, figures: dict) -> None:
        """Append one epoch's figures; `per_class_iou` and the scalars go to TensorBoard too."""
        if not self._active:
            return
        with disk_faults(self.path), open(self.path, "a") as file:
            file.write(json.dumps(figures, allow_nan=False) + "\n")
        values = {f"epoch/{name}": value for name, value in figures.items() if name not in ("epoch", "step")}
        values |= {f"iou/{name}": value for name, value in values.pop("epoch/per_class_iou", {}).items()}
        values = {tag: value for tag, value in values.items() if value is not None}
        self._events(lambda writer: writer.add_scalars(values, figures["step"]))
        self.flush()

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """An RGB picture (H,W,3) uint8."""
        self._events(lambda writer: writer.add_image(name, image, step))

    def flush(self) -> None:
        """Put the scalars so far into the file."""
        self._events(lambda writer: writer.flush())

    def close(self) -> None:
        """Flush everything."""
        self._events(lambda writer: writer.close())

    def _events(self, write: Callable[[EventWriter], None]) -> None:
        """`write`, unless there is no writer; a disk that fails costs the run its events only."""
        if self._writer:
            try:
                write(self._writer)
            except OSError as error:
                self._writer = None
                get_logger().warning(f"{self._folder}: no more TensorBoard events, as they cannot be written ({error})")


def _drop_events(folder: Path, state: RunState) -> None:
    def keep(step: int, tag: str) -> bool:
        of_the_step = tag.startswith("train/") or not state.step_in_epoch  # the rest comes at the epoch's end
        return 0 < step < state.step or (step == state.step > 0 and of_the_step)

    filter_events(folder, keep)


def _drop_lines(path: Path, state: RunState) -> None:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    kept = [line for line in lines if (epoch := _epoch_of(line)) is not None and epoch < state.epoch]
    write_atomically(path, lambda file: file.write("".join(line + "\n" for line in kept).encode()))


def _epoch_of(line: str) -> int | None:
    try:
        return json.loads(line)["epoch"]
    except (ValueError, KeyError, TypeError):
        return None
