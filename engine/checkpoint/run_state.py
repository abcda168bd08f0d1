"""Where a run stands: plain data that a training snapshot holds."""

from dataclasses import dataclass, field, replace

from utils.distributed import Process


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
    loss_processes: int = 1  # that the sums are over; those of older versions are of a mean one
    skipped_in_epoch: int = 0  # steps without an update, because loss or gradient was not finite
    skipped_in_row: int = 0
    validations_without_gain: int = 0  # in a row

    def loss_sums_of(self, process: Process) -> dict[str, float]:
        """What a process starts its sums from: the first of as many as before from all, others from 0, so that a run
        that resumes adds to the same digits; where their number has changed, each from its share.
        """
        if self.loss_processes == process.world_size:
            return self.loss_sums if process.is_main else dict.fromkeys(self.loss_sums, 0.0)
        return {name: value / self.loss_processes for name, value in self.loss_sums.items()}

    def rescaled(self, before: int, now: int) -> "RunState":
        """The same place in an epoch of `now` steps instead of `before`, rounded down to a whole step.

        What is counted over the epoch shrinks or grows with it, so that means and rates stay; `step` counts on.
        """
        made = self.step_in_epoch
        if before == now or not made:
            return self
        place = min(now, made * now // before)
        skipped = min(self.skipped_in_epoch, place)
        applied = (place - skipped) / max(1, made - self.skipped_in_epoch)
        return replace(
            self,
            step_in_epoch=place,
            skipped_in_epoch=skipped,
            loss_sums={name: value * applied for name, value in self.loss_sums.items()},
            seconds_in_epoch=self.seconds_in_epoch * place / made,
            waited_in_epoch=self.waited_in_epoch * place / made,
        )
