"""How long a run is, and what happens when."""

from dataclasses import dataclass, replace

from engine.checkpoint.run_state import RunState
from engine.training.options import ScheduleOptions, ValidationOptions


@dataclass(frozen=True)
class TrainSchedule:
    """How long a run is, and what happens when; steps are optimizer steps.

    Attributes:
        options: Length of the run.
        validation: When it is validated.
        steps_per_epoch: Of the data.
        processes: Of the job.
        offset: Steps that a resumed run made beyond its place in this schedule, because its epochs had another length;
            0 for all others.
    """

    options: ScheduleOptions
    validation: ValidationOptions
    steps_per_epoch: int
    processes: int = 1
    offset: int = 0

    def resumed_at(self, state: RunState) -> "TrainSchedule":
        """The same schedule for a run whose steps so far may not be those that its epochs have now."""
        if self.options.max_iters is not None:
            return self  # its length doesn't depend on that of the epochs
        return replace(self, offset=state.step - state.epoch * self.steps_per_epoch - state.step_in_epoch)

    @property
    def max_epoch(self) -> int:
        """Epochs of the whole run; with `--max_iters` the last one may be cut short."""
        return self.options.max_epoch or -(self.options.max_iters // -self.steps_per_epoch)

    @property
    def horizon(self) -> int:
        """Steps over which the learning rate falls; step `s` of the run is step `s - offset` of them."""
        return self.options.max_iters or self.max_epoch * self.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps that the run has made at the end of its last epoch."""
        return self.horizon + self.offset

    @property
    def last_step(self) -> int:
        """Where the run ends: with its last epoch, or at `--max_steps`."""
        return min(self.total_steps, self.options.max_steps or self.total_steps)

    def __str__(self) -> str:
        if self.options.max_iters is not None:
            return f"{self.options.max_iters} steps in epochs of {self.steps_per_epoch}"
        return f"{self.max_epoch} epochs of {self.steps_per_epoch} steps"

    @property
    def images_per_step(self) -> int:
        """Over all processes."""
        return self.options.bs_mult * self.options.accumulate * self.processes

    def is_finished(self, state: RunState) -> bool:
        """True if the run ends here, with its length or because `--patience` ends it."""
        return self.has_full_length(state) or self.lost_patience(state)

    def has_full_length(self, state: RunState) -> bool:
        """True if all epochs are trained, or `--max_iters` are made and their last epoch is complete."""
        if self.options.max_iters is None:
            return state.epoch >= self.max_epoch
        return state.step >= self.options.max_iters and not state.step_in_epoch

    def lost_patience(self, state: RunState) -> bool:
        """True if `--patience` ends the run before its full length."""
        patience = self.validation.patience
        waited = patience is not None and state.validations_without_gain >= patience and not state.step_in_epoch
        return waited and not self.has_full_length(state)

    def how_to_lengthen(self, state: RunState) -> str:
        """What a finished run needs to train on."""
        if self.lost_patience(state):
            return "a larger --patience"
        name = "--max_epoch" if self.options.max_iters is None else "--max_iters"
        return f"a larger {name} with --resume_override"

    def ends_epoch_at(self, step: int) -> bool:
        """True if `--max_iters` are made: this epoch ends here."""
        return self.options.max_iters is not None and step >= self.options.max_iters

    def stops_at(self, step: int) -> bool:
        """True if `--max_steps` are made."""
        return self.options.max_steps is not None and step >= self.options.max_steps

    def saves_at(self, step: int) -> bool:
        """True if `--save_every` asks for a snapshot after this step."""
        return bool(self.options.save_every) and step % self.options.save_every == 0

    def logs_at(self, step: int) -> bool:
        """True if the figures of this step are logged."""
        return step % self.options.log_every == 0

    def validates(self, epoch: int, step: int = 0) -> bool:
        """True if this epoch (from 0), which ended at `step`, ends with a validation."""
        last = epoch == self.max_epoch - 1 if self.options.max_iters is None else self.ends_epoch_at(step)
        return last or (epoch >= self.validation.eval_epoch and (epoch + 1) % self.validation.val_every == 0)


@dataclass(frozen=True)
class RunIdentity:
    """What a run is, as plain data.

    Attributes:
        metadata: `config`, `classes` and `trained_on` of its snapshots.
        settings: What decides the result; a run that resumes has to share it.
        defaults: Those of `settings` as they are without options, which older versions may not know.
        data: Fingerprints of the split to train on (`train`) and of the one to validate on (`val`).
        options: All options, with what was left open filled in.
    """

    metadata: dict
    settings: dict
    defaults: dict
    data: dict
    options: dict
