"""How long a run is, and what happens when."""

from dataclasses import dataclass

from engine.training.options import ScheduleOptions, ValidationOptions


@dataclass(frozen=True)
class TrainSchedule:
    """How long a run is, and what happens when; steps are optimizer steps.

    Attributes:
        options: Length of the run.
        validation: When it is validated.
        steps_per_epoch: Of the data.
        processes: Of the job.
    """

    options: ScheduleOptions
    validation: ValidationOptions
    steps_per_epoch: int
    processes: int = 1

    @property
    def total_steps(self) -> int:
        """The learning rate's horizon."""
        return self.options.max_epoch * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """Where the run ends: at the horizon, or at `--max_steps`."""
        return min(self.total_steps, self.options.max_steps or self.total_steps)

    @property
    def images_per_step(self) -> int:
        """Over all processes."""
        return self.options.bs_mult * self.options.accumulate * self.processes

    def stops_at(self, step: int) -> bool:
        """True if `--max_steps` are made."""
        return self.options.max_steps is not None and step >= self.options.max_steps

    def saves_at(self, step: int) -> bool:
        """True if `--save_every` asks for a snapshot after this step."""
        return bool(self.options.save_every) and step % self.options.save_every == 0

    def logs_at(self, step: int) -> bool:
        """True if the figures of this step are logged."""
        return step % self.options.log_every == 0

    def validates(self, epoch: int) -> bool:
        """True if this epoch (from 0) ends with a validation."""
        last = epoch == self.options.max_epoch - 1
        return last or (epoch >= self.validation.eval_epoch and (epoch + 1) % self.validation.val_every == 0)


@dataclass(frozen=True)
class RunIdentity:
    """What a run is, as plain data.

    Attributes:
        metadata: `config` and `classes` of its snapshots.
        settings: What decides the result; a run that resumes has to share it.
        options: All options, with what was left open filled in.
    """

    metadata: dict
    settings: dict
    options: dict
