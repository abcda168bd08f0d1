"""What changed between the run that a snapshot is of and the one that resumes from it, and whether it may."""

from typing import Any

from engine.checkpoint.run_state import RunState
from engine.training.fingerprint import compare_fingerprints
from engine.training.plan import RunIdentity, TrainSchedule
from engine.training.resume import Checkpoint
from engine.training.settings import JOB_SETTINGS, MODEL_SETTINGS, complete_settings, plain, schedule_of
from utils.errors import CheckpointError, DataError, OptionError


class RunChanges:
    """What differs between a snapshot's run and the present one, and where that resumes.

    A snapshot of an older version has no fingerprint and no schedule: what follows from them isn't compared.

    Args:
        checkpoint: What the run resumes from.
        identity: What the present run is.
        schedule: Of the present run.

    Attributes:
        settings: Name -> old and new value of what decides the result, plain data.
        images: Of the training split; None: nothing.
        validation: Of the validation split; None: nothing.
        state: Where the run resumes, in epochs as long as they are now.
        before: The snapshot's schedule.
        schedule: The present one, which ends with the last epoch from there.

    Raises:
        CheckpointError: The snapshot holds no training state.
    """

    def __init__(self, checkpoint: Checkpoint, identity: RunIdentity, schedule: TrainSchedule) -> None:
        training, self.path = checkpoint.training, checkpoint.path
        saved, present = complete_settings(training["settings"], identity.defaults), identity.settings
        self.settings = {
            name: (plain(saved[name]), plain(value))
            for name, value in present.items()
            if name in saved and saved[name] != value
        }
        known = training.get("data", identity.data)
        self.images, self.validation = (
            compare_fingerprints(known[part], identity.data[part]) for part in ("train", "val")
        )
        self.digests = {part: (known[part]["digest"], identity.data[part]["digest"]) for part in ("train", "val")}
        state = RunState(**training["state"])
        self.before = schedule_of(training, state, schedule).resumed_at(state)
        self.state = state.rescaled(self.before.steps_per_epoch, schedule.steps_per_epoch)
        self.schedule = schedule.resumed_at(self.state)

    def check(self, override: bool, same_folder: bool) -> None:
        """Refuse to resume where the result would not be what it seems.

        Args:
            override: Something may have changed.
            same_folder: The snapshot lies in the present run's folder.

        Raises:
            DataError: It was trained on other data.
            CheckpointError: It is of another model, other classes or another optimizer.
            OptionError: Something else changed.
        """
        if self.images and self.images.is_other:
            self._check_other(override, same_folder)
        of_model = [_was(name, *values) for name, values in self.settings.items() if name in MODEL_SETTINGS]
        if of_model:
            raise CheckpointError(
                f"{self.path}: of another model: {', '.join(of_model)}; give its options, or --resume never"
            )
        self._check_length()
        if not override:
            self._check_data()
            self._check_options()

    def _check_other(self, override: bool, same_folder: bool) -> None:
        """Refuses another data set; a run's folder has one, whatever is overridden."""
        way = "name another --exp for it, where --snapshot starts from these weights"
        if not same_folder:
            way = "start from its weights with --snapshot alone, or resume on them with --resume_override"
        if same_folder or not override:
            raise DataError(
                f"{self.path}: was trained on another data set: none of its {self.images.before} images is among the"
                f" {self.images.now} of this one; {way}, or give the old --dataset and --data_root"
            )

    def _check_length(self) -> None:
        """Refuses fewer epochs or steps than are trained."""
        iters, epochs = self.schedule.options.max_iters, self.schedule.max_epoch
        if iters is not None:
            if self.state.step > iters:
                raise OptionError(
                    f"--max_iters {iters}: {self.path} has made {self.state.step} already; give as many or more, or"
                    " another --exp"
                )
            return
        trained = self.state.epoch + (self.state.step_in_epoch > 0)
        if trained > epochs:
            raise OptionError(
                f"--max_epoch {epochs}: {self.path} has begun epoch {trained} already; give {trained} or more, or"
                " another --exp"
            )

    def _check_data(self) -> None:
        if not self.images:
            return
        more = [*self.option_texts(), *self.length_texts()]
        way = "--resume_override resumes with it as it is now"
        if self.is_finished and self.schedule.has_full_length(self.state):
            way = f"the run is finished: {self.schedule.how_to_lengthen(self.state)} trains on"
        raise DataError(
            f"{self.path}: the training data changed: {'; '.join([str(self.images), *more])}; {way}, another --exp or"
            " --resume never starts anew"
        )

    def _check_options(self) -> None:
        changed = self.option_texts()
        if not changed:
            return
        if self.is_finished and [name for name in self.settings if name not in JOB_SETTINGS] == ["max_epoch"]:
            old, new = self.settings["max_epoch"]
            raise OptionError(
                f"--max_epoch {new}: {self.path} is of a finished run of {old} epochs; --resume_override trains"
                f" on, with the learning rate of epoch {old} of {new}; or start another --exp from it with --snapshot"
            )
        raise OptionError(
            f"{self.path}: was trained with other options: {', '.join([*changed, *self.length_texts()])}; give the old"
            " ones, --resume_override to resume with the new ones, or --resume never"
        )

    @property
    def is_finished(self) -> bool:
        """True if the snapshot's run was trained to its end."""
        return self.before.is_finished(self.state)

    def option_texts(self) -> list[str]:
        """The options that changed, old and new, without those of the job."""
        return [_was(name, *values) for name, values in self.settings.items() if name not in JOB_SETTINGS]

    def length_texts(self) -> list[str]:
        """What the run's length was and is, if it changed."""
        before, now = self.before, self.schedule
        if (str(before), before.total_steps) == (str(now), now.total_steps):
            return []
        return [f"{before} -> {now}: {before.total_steps} -> {now.total_steps} steps"]

    def texts(self) -> list[str]:
        """Everything that changed, for the log."""
        job = [
            f"{words} {self.settings[name][0]} -> {self.settings[name][1]}"
            for name, words in JOB_SETTINGS.items()
            if name in self.settings
        ]
        images = [f"training data {self.images}"] if self.images else []
        return job + self.option_texts() + images + self.length_texts()

    def record(self) -> dict:
        """Everything that changed, for `config.json`: `step`, `from`, and `changed`: name -> [old, new]."""
        changed = {name: list(values) for name, values in self.settings.items()}
        for part, change in (("train", self.images), ("val", self.validation)):
            if change:
                changed[f"{part}_images"] = [change.before, change.now]
                changed[f"{part}_sha256"] = list(self.digests[part])
        for name in ("steps_per_epoch", "total_steps"):
            values = [getattr(schedule, name) for schedule in (self.before, self.schedule)]
            if values[0] != values[1]:
                changed[name] = values
        return {"step": self.state.step, "from": str(self.path), "changed": changed}


def _was(name: str, old: Any, new: Any) -> str:
    old, new = ("unset" if value in ("", None) else value for value in (old, new))
    return f"{name} was {old}, is {new}"
