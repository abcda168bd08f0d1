"""What the steps of a run gave, for people: the bar, the log, TensorBoard."""

from collections import deque

from engine.checkpoint.run_state import RunState
from engine.training.meters import LossMeter, StepMetrics
from engine.training.plan import TrainSchedule
from engine.training.recorder import Recorder
from engine.training.step import describe_skipped
from utils.distributed import Process
from utils.errors import NumericsError
from utils.logging import Progress, get_logger

HALVINGS = 16  # from the loss scale that GradScaler starts with, 65,536, to 1


class StepFigures:
    """Looks at steps while later ones are under way, counts the skipped ones, and reports the figures of some.

    Args:
        state: Where the run stands; the skipped steps are counted in it.
        schedule: When a step is reported.
        process: This process.
        recorder: Of the run.
        bar: Of the run.
        scaled: The loss is scaled for float16, by half as much after each step whose gradients were too large for it.
    """

    def __init__(
        self,
        state: RunState,
        schedule: TrainSchedule,
        process: Process,
        recorder: Recorder,
        bar: Progress,
        scaled: bool = False,
    ) -> None:
        self.scaled = scaled
        self.state, self.schedule, self.process, self.recorder, self.bar = state, schedule, process, recorder, bar
        self._unread: deque[StepMetrics] = deque()
        self.log = get_logger()

    def add(self, outcome: StepMetrics) -> None:
        """A step that is under way; nobody waits for it yet."""
        self._unread.append(outcome)
        self.bar.advance()

    def flush_metrics(self, keep: int = 0) -> None:
        """Count the steps since the last call but for the latest `keep`, and report those that are to be logged.

        With one left the device is still busy while the host looks at the step before.
        """
        while len(self._unread) > keep:
            outcome = self._unread.popleft()
            applied, terms = outcome.read()
            if not applied:
                self.skip(outcome, terms)
                continue
            self.state.skipped_in_row = 0
            if self.schedule.logs_at(outcome.step):
                self.report(outcome, terms)

    def skip(self, outcome: StepMetrics, terms: dict[str, float]) -> None:
        """Count a step whose loss or gradient was not finite.

        Raises:
            NumericsError: It was one too many in a row.
        """
        state = self.state
        state.skipped_in_epoch += 1
        state.skipped_in_row += 1
        described, of_the_loss = describe_skipped(terms, outcome.samples)
        too_large = self.scaled and not of_the_loss
        what = "loss or gradient not finite"
        if too_large:
            what = "gradients too large for float16, the loss scale is halved"
        message = f"step {outcome.step}: {what} ({described})"
        if state.skipped_in_row >= self.schedule.options.max_skipped_steps + HALVINGS * too_large:
            raise NumericsError(
                f"{message}, as in the {state.skipped_in_row} steps up to it (--max_skipped_steps);"
                " lower --lr, check the labels, or use --amp off"
            )
        if self.process.is_main:
            log = self.log.info if too_large and state.skipped_in_row <= HALVINGS else self.log.warning
            log(f"{message}; skipped, {state.skipped_in_row} in a row")

    def report(self, outcome: StepMetrics, terms: dict[str, float]) -> None:
        """Figures of a step, to the bar, the log and TensorBoard."""
        step, rate = outcome.step, outcome.rate
        images, wait = self.speed().values()
        means = LossMeter(terms, 1).means(self.process.world_size, f"step {step}")
        loss = means["total"]
        self.bar.show(epoch=self.state.epoch, loss=f"{loss:.4f}", images_s=f"{images:.1f}", data_wait=f"{wait:.0%}")
        self.log.info(
            f"epoch {self.state.epoch} step {step}/{self.schedule.total_steps} loss {loss:.6f}"
            f" lr {rate:.3e} {images:.1f} images/s"
        )
        self.recorder.step(step, {**means, "lr": rate, "images_per_second": images})

    def speed(self) -> dict[str, float]:
        """Over the epoch so far: images a second of all processes, and the fraction that this one waited for data."""
        state, seconds = self.state, max(self.state.seconds_in_epoch, 1e-9)
        images = state.step_in_epoch * self.schedule.images_per_step / seconds
        return {"images_per_second": images, "data_wait": min(1.0, state.waited_in_epoch / seconds)}
