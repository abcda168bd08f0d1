"""A training run: epochs of steps, validation, snapshots, and going on where an earlier run stopped."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.fields import check_optimizer, with_options
from engine.checkpoint.run_state import RunState
from engine.checkpoint.snapshot import save_snapshot
from engine.evaluation.scoring import Evaluation, EvaluationStopped
from engine.inference.precision import Precision
from engine.report import update_curves
from engine.training.compile import CompiledStep
from engine.training.meters import DataTimer, LossMeter
from engine.training.plan import TrainSchedule, check_resumable
from engine.training.recorder import Recorder
from engine.training.step import Criterion, describe_skipped, grouped, seed_step, set_train_mode, train_step
from engine.training.step_outcome import StepMetrics
from utils.distributed import Process, any_rank, barrier, broadcast_buffers, note, on_main_rank
from utils.drawing import save_png
from utils.errors import CheckpointError, NumericsError
from utils.logging import Progress, get_logger
from utils.metrics.confusion import compute_metrics
from utils.signals import StopRequest


class Trainer:
    """Trains `model` and leaves `last.pth`, `best.pth` and the recorder's files in `folder`.

    Args:
        model: The bare model, on its device.
        parallel: What is called in a step: the model itself, or its DDP wrapper.
        criterion: Outputs and labels -> named terms; `set_progress(epoch)` is called before each epoch.
        optimizer: Over the model's parameters.
        set_rate: (step, total steps) -> sets the optimizer's learning rate and returns it.
        average: Weight average, or None.
        precision: Mixed precision.
        process: This process.
        plan: Length and rhythm of the run.
        header: `config` and `classes` of the snapshots.
        folder: Results.
        tensorboard: TensorBoard events.
        make_loader: (epoch, batches to skip) -> loader of this rank.
        validate: (model in evaluation mode, whether to abandon it) -> its evaluation.
        draw: Model in evaluation mode -> pictures (H,W,3) uint8 by name, for the best epoch; called on rank 0.
        report: (model in evaluation mode, its evaluation, epoch) -> writes `report.html` for the best epoch;
            called on rank 0. None: no report.
        settings: What decides the result, as plain data; a resumed run has to have the same.
        augment: A batch of the loader -> one with `image` and `label`, on the device; None: the loader's has them.
        compiled: Compiles what is called in a step before the first one; None: nothing is compiled.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        parallel: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        set_rate: Callable[[int, int], float],
        average,
        precision: Precision,
        process: Process,
        plan: TrainSchedule,
        header: dict,
        folder: Path,
        tensorboard: Path,
        make_loader: Callable[[int, int], Iterable[dict]],
        validate: Callable[[nn.Module, Callable[[], bool]], Evaluation],
        draw: Callable[[nn.Module], dict[str, np.ndarray]],
        report: Callable[[nn.Module, Evaluation, int], None] | None,
        settings: dict,
        augment: Callable[[dict], dict] | None = None,
        compiled: CompiledStep | None = None,
    ) -> None:
        self.model, self.parallel, self.criterion, self.optimizer = model, parallel, criterion, optimizer
        self.set_rate, self.average, self.precision, self.process = set_rate, average, precision, process
        self.plan, self.header, self.folder, self.tensorboard = plan, header, folder, tensorboard
        self.make_loader, self.validate, self.draw = make_loader, validate, draw
        self.write_report, self.settings, self.augment, self.compiled = report, settings, augment, compiled
        self.state = RunState()
        self.outcomes: deque[StepMetrics] = deque()  # of steps that nobody looked at yet
        self.log = get_logger()

    def run(self, stop: StopRequest) -> None:
        """Train to the end, to `max_steps`, or until a signal asks to stop; every way out is saved."""
        stop.saveable = True
        barrier()  # from here on no process leaves because of a request that the others don't know
        state = self.state
        self.recorder = Recorder(self.folder, self.tensorboard, self.process.is_main, state)
        with closing(self.recorder):
            while state.epoch < self.plan.max_epoch:
                if not self.train_epoch(stop):
                    self.save()
                elif self.end_epoch(stop):
                    continue
                reason = "reached --max_steps" if self._at_max_steps() else "stopped"
                self.log.info(f"{reason} at step {state.step}, saved")
                break
        self.log.info(f"final weights sha256: {weights_sha256(self.model.state_dict())}")

    def train_epoch(self, stop: StopRequest) -> bool:
        """The rest of the current epoch; False if the run has to stop before the epoch is complete and scored."""
        state, plan = self.state, self.plan
        note(f"the start of epoch {state.epoch}")
        self.criterion.set_progress(state.epoch)
        set_train_mode(self.model, plan.freeze_norms)
        self.meter = LossMeter(state.loss_sums, state.step_in_epoch - state.skipped_in_epoch)
        loader = self.make_loader(state.epoch, state.step_in_epoch * plan.accumulate)
        waiting = DataTimer(state.waited_in_epoch)
        bar = Progress(
            waiting.watch(grouped(loader, plan.accumulate)),
            f"epoch {state.epoch}",
            self.process.is_main,
            total=plan.steps_per_epoch,
            initial=state.step_in_epoch,
        )
        started = time.monotonic() - state.seconds_in_epoch
        if self._at_max_steps() or any_rank(stop.asked):
            return False
        for batches in bar:
            self.step(batches)
            state.seconds_in_epoch, state.waited_in_epoch = time.monotonic() - started, waiting.seconds
            self.flush_metrics(bar, but=1)
            if any_rank(stop.asked) or self._at_max_steps():
                self.flush_metrics(bar)
                return False
            if plan.save_every and state.step % plan.save_every == 0:
                self.flush_metrics(bar)
                self.save()
            note(f"loading the batch after step {state.step}", bounded=True)
        self.flush_metrics(bar)
        return True

    def step(self, batches: list[dict]) -> None:
        """One optimizer step; `flush_metrics` says what came of it."""
        state, plan = self.state, self.plan
        if self.compiled is not None and not self.compiled.started:
            self.parallel = self.compiled.start(self.parallel, batches[0])
        note(f"step {state.step + 1}", bounded=True)
        rate = self.set_rate(state.step, plan.total_steps)
        seed_step(plan.seed, state.step, self.process.rank)
        terms, applied = train_step(
            self.parallel,
            self.criterion,
            self.optimizer,
            batches,
            self.precision,
            self.process.device,
            plan.memory_format,
            self.augment,
        )
        state.step += 1
        state.step_in_epoch += 1
        if self.average is not None:
            self.average.update(self.model, applied)
        self.meter.add(terms, applied)
        samples = [name for batch in batches for name in batch["name"]]
        self.outcomes.append(StepMetrics(state.step, rate, samples, terms, applied))

    def flush_metrics(self, bar: Progress, but: int = 0) -> None:
        """Count the steps since the last look but for the latest `but`, and report those that are to be logged.

        With one left the device is still busy while the host looks at the step before.
        """
        while len(self.outcomes) > but:
            outcome = self.outcomes.popleft()
            applied, terms = outcome.read()
            if not applied:
                self.skip(outcome, terms)
                continue
            self.state.skipped_in_row = 0
            if outcome.step % self.plan.log_every == 0:
                self.report(bar, outcome, terms)

    def skip(self, outcome: StepMetrics, terms: dict[str, float]) -> None:
        """Count a step whose loss or gradient was not finite.

        Raises:
            NumericsError: It was one too many in a row.
        """
        state = self.state
        state.skipped_in_epoch += 1
        state.skipped_in_row += 1
        message = f"step {outcome.step}: loss or gradient not finite ({describe_skipped(terms, outcome.samples)})"
        if state.skipped_in_row >= self.plan.max_skipped_steps:
            raise NumericsError(
                f"{message}, as in the {state.skipped_in_row} steps up to it (--max_skipped_steps);"
                " lower --lr, check the labels, or use --amp off"
            )
        if self.process.is_main:
            self.log.warning(f"{message}; skipped, {state.skipped_in_row} in a row")

    def report(self, bar: Progress, outcome: StepMetrics, terms: dict[str, float]) -> None:
        """Figures of a step, to the bar, the log and TensorBoard."""
        step, rate = outcome.step, outcome.rate
        means = LossMeter(terms, 1).means(self.process.world_size, f"step {step}")
        images = self.images_per_second()
        wait = f"{self.data_wait():.0%}"
        bar.show(loss=f"{means['total']:.4f}", lr=f"{rate:.2e}", images_s=f"{images:.1f}", data_wait=wait)
        self.log.info(
            f"epoch {self.state.epoch} step {step}/{self.plan.total_steps} loss {means['total']:.6f}"
            f" lr {rate:.3e} {images:.1f} images/s"
        )
        self.recorder.step(step, {**means, "lr": rate, "images_per_second": images})

    def images_per_second(self) -> float:
        """Throughput over the epoch so far, all processes together."""
        images = self.state.step_in_epoch * self.plan.accumulate * self.plan.batch_images * self.process.world_size
        return images / max(self.state.seconds_in_epoch, 1e-9)

    def data_wait(self) -> float:
        """Share of the epoch so far in which this process waited for data, 0 to 1."""
        return min(1.0, self.state.waited_in_epoch / max(self.state.seconds_in_epoch, 1e-9))

    def end_epoch(self, stop: StopRequest) -> bool:
        """Validate if it is time, record, and save; False if the run has to stop before the validation is complete."""
        state, epoch = self.state, self.state.epoch
        means = self.meter.means(self.process.world_size, f"epoch {epoch}")
        if self.compiled is not None:
            self.compiled.report()
        rate = self.optimizer.param_groups[0]["lr"]
        figures = {"epoch": epoch, "step": state.step, "lr": rate, "train_loss": means.get("total")}
        if state.skipped_in_epoch:
            figures["skipped_steps"] = state.skipped_in_epoch
        figures |= {"images_per_second": self.images_per_second(), "data_wait": self.data_wait()}
        if self.plan.validates(epoch):
            self.save()  # a fault in validation costs no training
            try:
                figures |= self.score(stop)
            except EvaluationStopped:
                return False
        state.epoch, state.step_in_epoch, state.seconds_in_epoch, state.loss_sums = epoch + 1, 0, 0.0, {}
        state.skipped_in_epoch, state.waited_in_epoch = 0, 0.0
        self.meter = LossMeter()
        self.recorder.epoch(figures)
        self.save()
        if self.process.is_main and self.write_report is not None:
            with self.best_effort("curves"):
                update_curves(self.folder / "report.html", self.recorder.path)
        return True

    def score(self, stop: StopRequest) -> dict:
        """Validate the weights that would be handed out, and keep them as `best.pth` if they are the best so far."""
        with self.average.applied_to(self.model) if self.average is not None else nullcontext():
            return self._score_present(stop)

    def _score_present(self, stop: StopRequest) -> dict:
        state, names = self.state, self.header["classes"]["names"]
        broadcast_buffers(self.model)  # rank 0's are saved, so all ranks score with them
        self.model.eval()
        try:
            evaluation = self.validate(self.model, lambda: stop.asked)
        except NumericsError as error:
            raise NumericsError(f"validation of epoch {state.epoch}: {error}; or lower --lr and train anew") from error
        result = compute_metrics(evaluation.confusion, names)
        iou = result["mean_iou"]
        self.log.info(f"epoch {state.epoch} mIoU {_percent(iou)} pixel accuracy {_percent(result['pixel_accuracy'])}")
        for name, row in result["per_class"].items():
            self.log.info(f"    {name:<20} {_percent(row['iou'])}")
        if iou is not None and iou > state.best_iou:
            state.best_iou, state.best_epoch = iou, state.epoch
            on_main_rank(lambda: self.save_best(evaluation, iou))
        return {
            "val_loss": evaluation.loss if math.isfinite(evaluation.loss) else None,
            "mean_iou": iou,
            "pixel_accuracy": result["pixel_accuracy"],
            "per_class_iou": {name: row["iou"] for name, row in result["per_class"].items()},
        }

    def save_best(self, evaluation: Evaluation, iou: float) -> None:
        """Write the present weights as `best.pth`, and what they see."""
        best = {**self.header, "model": self.model.state_dict(), "average": None}
        save_snapshot(self.folder / "best.pth", best | {"score": {"mean_iou": iou, "epoch": self.state.epoch}})
        self.visualize_best(evaluation)

    def visualize_best(self, evaluation: Evaluation) -> None:
        """Draw what the best weights see, into `pictures/` and TensorBoard, and write `report.html`."""
        with self.best_effort("pictures"):
            for name, picture in self.draw(self.model).items():
                save_png(self.folder / "pictures" / f"{name}.png", picture)
                self.recorder.picture(name, picture, self.state.step)
        if self.write_report is not None:
            with self.best_effort("report"):
                self.write_report(self.model, evaluation, self.state.epoch)

    @contextmanager
    def best_effort(self, what: str) -> Iterator[None]:
        """A block whose faults are said, and cost the run `what` only."""
        try:
            yield
        except Exception as error:  # of any kind: days of training are worth more than a picture
            self.log.warning(f"the run goes on without {what}: {type(error).__name__}: {error}")

    def save(self) -> None:
        """Write `last.pth` on rank 0; its predecessor stays as `last_previous.pth`.

        Raises:
            NumericsError: The loss was not finite since the last snapshot; nothing is written then.
        """
        totals = self.meter.totals(f"up to step {self.state.step}")
        sums = {name: total / self.process.world_size for name, total in totals.items()}
        broadcast_buffers(self.model)

        def write() -> None:
            self.recorder.flush()  # a run that goes on from here doesn't write these again
            training = {
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.precision.scaler.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "state": vars(self.state) | {"loss_sums": sums},  # of a mean rank: their number may change
                "settings": self.settings,
            }
            average = self.average.state_dict()["shadow"] if self.average else None
            snapshot = {**self.header, "model": self.model.state_dict(), "average": average, "training": training}
            save_snapshot(self.folder / "last.pth", snapshot, keep_previous=True)

        on_main_rank(write)

    def load(self, snapshot: dict, path: Path, override: bool = False) -> None:
        """Go on from a training snapshot.

        Args:
            snapshot: What `load_snapshot` returned.
            path: Its file, for messages.
            override: Go on although settings changed, with the new ones.

        Raises:
            OptionError: Settings that decide the result are not those of the snapshot.
            CheckpointError: It is of another model or optimizer, or holds no training state.
        """
        training = snapshot.get("training")
        if training is None:
            raise CheckpointError(f"{path}: holds weights only, nothing to go on from; start from it with --snapshot")
        if changes := check_resumable(training["settings"], self.settings, path, override):
            self.log.info(f"since that snapshot: {', '.join(changes)}")
        kept = ("params", "lr")  # the present rate is the snapshot's; the base rate, initial_lr, is this run's
        wanted = [{k: v for k, v in group.items() if k not in kept} for group in self.optimizer.param_groups]
        try:
            self.model.load_state_dict(snapshot["model"])
            self.optimizer.load_state_dict(with_options(training["optimizer"], wanted))
            check_optimizer(self.optimizer, path)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{path}: of another model or optimizer ({reason}); give its options, or --resume never"
            ) from error
        if training["scaler"] and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(training["scaler"])
        if self.average is not None and training["average"] is not None:
            self.average.load_state_dict(training["average"])
        self.state = RunState(**training["state"])

    def _at_max_steps(self) -> bool:
        return self.plan.max_steps is not None and self.state.step >= self.plan.max_steps


def _percent(value: float | None) -> str:
    return "   n/a" if value is None else f"{100 * value:6.2f}"
