"""Where a run stands: plain data that a training snapshot holds."""

from dataclasses import dataclass, field, replace


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
    validations_without_gain: int = 0  # in a row

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
