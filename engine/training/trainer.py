"""A training run: epochs of steps, validation, snapshots; one that was stopped resumes to the bit."""

import math
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.run_state import RunState
from engine.checkpoint.snapshot import load_snapshot
from engine.evaluation.scoring import EvaluationStopped
from engine.training.changes import RunChanges
from engine.training.learner import Learner
from engine.training.meters import DataTimer, LossMeter, StepMetrics
from engine.training.plan import RunIdentity, TrainSchedule
from engine.training.resume import Checkpoint
from engine.training.run_folder import RunFolder, best_effort
from engine.training.step import grouped
from engine.training.step_figures import StepFigures
from engine.training.validator import Validation, Validator
from utils.distributed import any_rank, barrier, broadcast_buffers, from_first_rank, note, on_main_rank
from utils.errors import CheckpointError, NumericsError
from utils.logging import Progress, get_logger
from utils.signals import StopRequest


class Trainer:
    """Trains and leaves `last.pth`, `best.pth` and the figures in the run's folder.

    Args:
        learner: Makes the steps.
        data: (epoch, batches to skip) -> loader of this rank.
        validator: Scores the weights.
        folder: Of the run.
        schedule: Length and rhythm of the run.
        identity: What the run is.
    """

    def __init__(
        self,
        learner: Learner,
        data: Callable[[int, int], Iterable[dict]],
        validator: Validator,
        folder: RunFolder,
        schedule: TrainSchedule,
        identity: RunIdentity,
    ) -> None:
        self.learner, self.data, self.validator, self.folder = learner, data, validator, folder
        self.schedule, self.identity, self.process = schedule, identity, learner.process
        self.state, self.meter = RunState(), LossMeter()
        self.resumed: dict | None = None  # what changed since the snapshot that the run resumes from
        self.log = get_logger()

    def fit(self, stop: StopRequest) -> None:
        """Train to the end, to `--max_steps`, or until a signal asks to stop; every way out is saved."""
        stop.saveable = True
        barrier()  # from here on no process leaves because of a request that the others don't know
        state, schedule = self.state, self.schedule
        self.folder.record_from(state)
        if self.is_finished:
            self.log.info(
                f"this run is finished; to train longer, give {schedule.how_to_lengthen(state)}; to train again, use"
                " --resume never or another --exp"
            )
        with Progress(None, "training", self.process.is_main, schedule.last_step, state.step) as bar:
            self.figures = StepFigures(
                state, schedule, self.process, self.folder.recorder, bar, self.learner.precision.scaler.is_enabled()
            )
            while not self.is_finished:
                if not self.train_epoch(stop):
                    self.save()
                elif self.end_epoch(stop):
                    continue
                reason = "reached --max_steps" if schedule.stops_at(state.step) else "stopped"
                self.log.info(f"{reason} at step {state.step}, saved")
                break
        if schedule.lost_patience(state):
            count = state.validations_without_gain
            self.log.info(f"ended at step {state.step}: {count} validations without a higher mIoU (--patience)")
        if self.is_finished:
            self.log_summary()
        self.log.info(f"final weights sha256: {weights_sha256(self.learner.model.state_dict())}")

    @property
    def is_finished(self) -> bool:
        """True if all epochs are trained."""
        return self.schedule.is_finished(self.state)

    def train_epoch(self, stop: StopRequest) -> bool:
        """The rest of the current epoch; False if the run has to stop before the epoch is complete and scored."""
        state, schedule = self.state, self.schedule
        note(f"the start of epoch {state.epoch}")
        self.learner.start_epoch(state.epoch)
        self.meter = LossMeter(state.loss_sums_of(self.process), state.step_in_epoch - state.skipped_in_epoch)
        accumulate = schedule.options.accumulate
        loader = self.data(state.epoch, state.step_in_epoch * accumulate)
        waiting = DataTimer(state.waited_in_epoch)
        started = time.monotonic() - state.seconds_in_epoch
        if schedule.stops_at(state.step) or any_rank(stop.asked):
            return False
        note(f"loading the first batch of epoch {state.epoch}", bounded=True)
        for batches in () if schedule.ends_epoch_at(state.step) else waiting.timed(grouped(loader, accumulate)):
            self.step(batches)
            state.seconds_in_epoch, state.waited_in_epoch = time.monotonic() - started, waiting.seconds
            self.figures.flush_metrics(keep=1)
            if any_rank(stop.asked) or schedule.stops_at(state.step):
                self.figures.flush_metrics()
                return False
            if schedule.ends_epoch_at(state.step):
                break
            if schedule.saves_at(state.step):
                self.figures.flush_metrics()
                self.save()
            note(f"loading the batch after step {state.step}", bounded=True)
        self.figures.flush_metrics()
        return True

    def step(self, batches: list[dict]) -> None:
        """One optimizer step; `StepFigures` says what came of it."""
        state = self.state
        terms, applied = self.learner.step(batches, state.step, self.schedule)
        state.step += 1
        state.step_in_epoch += 1
        self.meter.add(terms, applied)
        samples = [name for batch in batches for name in batch["name"]]
        self.figures.add(StepMetrics(state.step, self.learner.lr, samples, terms, applied))

    def end_epoch(self, stop: StopRequest) -> bool:
        """Validate if it is time, record, and save; False if the run has to stop before the validation is complete."""
        state, epoch = self.state, self.state.epoch
        means = self.meter.means(self.process.world_size, f"epoch {epoch}")
        if self.learner.compiled is not None:
            self.learner.compiled.report()
        figures = {"epoch": epoch, "step": state.step, "lr": self.learner.lr, "train_loss": means.get("total")}
        if state.skipped_in_epoch:
            figures["skipped_steps"] = state.skipped_in_epoch
        figures |= self.figures.speed()
        if self.schedule.validates(epoch, state.step):
            self.save()  # a fault in validation costs no training
            try:
                figures |= self.score(stop)
            except EvaluationStopped:
                return False
        state.epoch, state.step_in_epoch, state.seconds_in_epoch, state.loss_sums = epoch + 1, 0, 0.0, {}
        state.skipped_in_epoch, state.waited_in_epoch = 0, 0.0
        self.meter = LossMeter()
        self.folder.recorder.epoch(figures)
        self.save()
        if self.validator.options.report:
            self.folder.update_report()
        return True

    def score(self, stop: StopRequest) -> dict:
        """Validate the weights that are evaluated, and save them as `best.pth` if they are the best so far."""
        state = self.state
        with self.learner.evaluated_weights() as model:
            broadcast_buffers(model)  # rank 0's are saved, so all ranks score with them
            try:
                validation = self.validator.validate(model, stop)
            except NumericsError as error:
                raise NumericsError(f"validation of epoch {state.epoch}: {error}; or lower --lr, train anew") from error
            scores = validation.scores
            self.log_scores(scores)
            if scores["mean_iou"] is not None and scores["mean_iou"] > state.best_iou:
                state.best_iou, state.best_epoch = scores["mean_iou"], state.epoch
                state.validations_without_gain = 0
                on_main_rank(lambda: self.save_best(validation))
            else:
                state.validations_without_gain += 1
        loss = validation.evaluation.loss
        return {
            "val_loss": loss if math.isfinite(loss) else None,
            "mean_iou": scores["mean_iou"],
            "pixel_accuracy": scores["pixel_accuracy"],
            "per_class_iou": {name: row["iou"] for name, row in scores["per_class"].items()},
        }

    def save_best(self, validation: Validation) -> None:
        """Write the weights that were validated as `best.pth`, and what they see."""
        state, folder = self.state, self.folder
        score = {"mean_iou": state.best_iou, "epoch": state.best_epoch}
        best = {"model": validation.model.state_dict(), "average": None, "score": score}
        folder.save_best(self.identity.metadata | best)
        with best_effort("pictures"):
            for name, picture in self.validator.pictures(validation):
                folder.save_picture(name, picture, state.step)
        if self.validator.options.report:
            with best_effort("report"):
                options, metrics = self.identity.options, folder.metrics
                self.validator.write_report(folder.report, validation, state.epoch, metrics, options)

    def save(self) -> None:
        """Write `last.pth` on rank 0; its predecessor stays as `last_previous.pth`.

        Raises:
            NumericsError: The loss was not finite since the last snapshot; nothing is written then.
        """
        totals = self.meter.totals(f"up to step {self.state.step}")
        broadcast_buffers(self.learner.model)
        state = vars(self.state) | {"loss_sums": totals, "loss_processes": self.process.world_size}
        training = {"state": state, "settings": self.identity.settings, "data": self.identity.data}
        training["schedule"] = {name: getattr(self.schedule, name) for name in ("max_epoch", "steps_per_epoch")}
        if self.schedule.options.max_iters is not None:
            training["schedule"]["max_iters"] = self.schedule.options.max_iters

        def write() -> None:
            snapshot = {**self.identity.metadata, **self.learner.weights()}
            self.folder.save_last(snapshot | {"training": training | self.learner.state_dict()})

        on_main_rank(write)

    def load(self, checkpoint: Checkpoint, override: bool = False) -> None:
        """Resume from a checkpoint; `override`: although data or settings changed, with the new ones.

        Raises:
            FENetError: See `RunChanges.check`, or the checkpoint holds no training state.
        """
        changes = RunChanges(checkpoint, self.identity, self.schedule)
        changes.check(override, checkpoint.path.resolve().parent == self.folder.path.resolve())
        if texts := changes.texts():
            self.log.info(f"since that snapshot: {', '.join(texts)}")
        if changes.validation and self.process.is_main:
            self.log.warning(
                f"the validation data changed since that snapshot: {changes.validation}; scores before and after it"
                f" don't compare, and {self.folder.best.name} stays that of the old data until a score is higher"
            )
        self.learner.load(checkpoint)
        self.state, self.schedule = changes.state, changes.schedule
        self.resumed = changes.record()
        if not from_first_rank(lambda: self.state.best_epoch < 0 or self._has_best(checkpoint.path)):
            self.log.info(f"the best epoch so far, {self.state.best_epoch}, isn't in {self.folder.path}: chosen anew")
            self.state = replace(self.state, best_iou=-1.0, best_epoch=-1, validations_without_gain=0)

    def _has_best(self, resumed: Path) -> bool:
        """True if the folder's `best.pth` is that of the state, which `resumed` gave."""
        if resumed.resolve().parent != self.folder.path.resolve():
            return False
        return self.folder.best.exists() and (self.folder.is_newest(resumed) or self._is_best(self.folder.best))

    def _is_best(self, path: Path) -> bool:
        try:
            score = load_snapshot(path).get("score", {})
            return (score.get("epoch"), score.get("mean_iou")) == (self.state.best_epoch, self.state.best_iou)
        except CheckpointError:
            return False

    def log_scores(self, scores: dict) -> None:
        """The scores of a validation, a line for each class."""
        accuracy = _percent(scores["pixel_accuracy"])
        self.log.info(f"epoch {self.state.epoch} mIoU {_percent(scores['mean_iou'])} pixel accuracy {accuracy}")
        for name, row in scores["per_class"].items():
            self.log.info(f"    {name:<20} {_percent(row['iou'])}")

    def log_summary(self) -> None:
        """What a finished run leaves, and what to do with it."""
        state, folder, options = self.state, self.folder, self.identity.options
        snapshot = folder.best if state.best_epoch >= 0 else folder.last
        if state.best_epoch >= 0:
            self.log.info(f"best epoch: {state.best_epoch}, mIoU {_percent(state.best_iou).strip()}, in {folder.best}")
        self.log.info(f"figures, pictures and log: {folder.path}")
        data = ["--data_root", options["data_root"], "--split", options["val_split"]]
        given = {"--cv_split": options["cv"], "--base_size": options["base_size"]}
        data += [word for flag, value in given.items() if value for word in (flag, str(value))]
        command = ["python", "eval.py", "--snapshot", str(snapshot), *data, "--save_dir", str(folder.path / "eval")]
        self.log.info(f"next: {shlex.join(command)}")


def _percent(value: float | None) -> str:
    return "   n/a" if value is None else f"{100 * value:6.2f}"
