"""Where a run stands: plain data that a training snapshot holds."""

from dataclasses import dataclass, field


@dataclass
class RunState:
    """Where a run is; plain data that a snapshot holds."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    best_iou: float = -1.0
    best_epoch: int = -1
    seconds_in_epoch: float = 0.0
    waited_in_epoch: float = 0.0  # for data
    loss_sums: dict[str, float] = field(default_factory=dict)
    skipped_in_epoch: int = 0  # steps without an update, because loss or gradient was not finite
    skipped_in_row: int = 0
