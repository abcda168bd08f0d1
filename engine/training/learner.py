"""Learning: an optimizer step with all that it changes, and what a checkpoint holds of that."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint.fields import check_optimizer, regroup, with_options
from engine.inference.compile import CompiledStep
from engine.inference.precision import Precision
from engine.training.options import ComputeOptions
from engine.training.parallel import wrap_parallel
from engine.training.plan import TrainSchedule
from engine.training.resume import Checkpoint
from engine.training.step import Criterion, seed_step, set_train_mode, train_step
from optimizer import LrSchedule, ModelAverage, match_strides, set_lr
from utils.distributed import Process, note
from utils.errors import CheckpointError


class Learner:
    """A model and what teaches it.

    Args:
        model: The bare model, on its device.
        criterion: Outputs and labels -> named terms with `total`; `set_progress(epoch)` comes before each epoch.
        optimizer: Of `build_optimizer`, over the model's parameters.
        schedule: (step, total steps, steps made) -> factor of the base learning rate.
        average: Of the weights; None: there is none.
        augment: Makes `image` and `label` of a loader's batch on the device; None: the batch has them.
        options: Precision, layout, seed, compiling, how processes share gradients.
        process: This process.
        accumulates: Whether a step has several batches.
        frozen_norms: Batch norms that keep their statistics.
        clip_grad: Norm to which gradients are shortened; None: they aren't.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        schedule: LrSchedule,
        *,
        average: ModelAverage | None,
        augment: Callable[[dict], dict] | None,
        options: ComputeOptions,
        process: Process,
        accumulates: bool = False,
        frozen_norms: Sequence[nn.Module] = (),
        clip_grad: float | None = None,
    ) -> None:
        self.model, self.criterion, self.optimizer, self.schedule = model, criterion, optimizer, schedule
        self.average, self.augment, self.process = average, augment, process
        self.seed, self.frozen_norms, self.clip_grad = options.seed, frozen_norms, clip_grad
        self.precision = Precision.build(options.amp, process.device)
        self.memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
        self.compiled = None
        if options.compile:
            dtype = self.precision.dtype
            self.compiled = CompiledStep(model, criterion, dtype, process.device, self.memory_format, augment)
        self.parallel = wrap_parallel(
            model,
            process,
            options.ddp_backend,
            static_graph=not accumulates,
            compress=options.grad_compression == "bf16",
        )

    @property
    def lr(self) -> float:
        """The present learning rate."""
        return self.optimizer.param_groups[0]["lr"]

    def start_epoch(self, epoch: int) -> None:
        """Tell the criterion, and set the model to train."""
        self.criterion.set_progress(epoch)
        set_train_mode(self.model, self.frozen_norms)

    def step(self, batches: list[dict], step: int, plan: TrainSchedule) -> tuple[dict[str, Tensor], Tensor]:
        """Optimizer step `step`, counted from 0; returns what `train_step` does."""
        if self.compiled is not None and not self.compiled.started:
            self.parallel = self.compiled.start(self.parallel, batches[0])
        note(f"step {step + 1}", bounded=True)
        set_lr(self.optimizer, self.schedule(step - plan.offset, plan.horizon, step))
        seed_step(self.seed, step, self.process.rank)
        terms, applied = train_step(
            self.parallel,
            self.criterion,
            self.optimizer,
            batches,
            self.precision,
            self.process.device,
            self.memory_format,
            self.augment,
            self.clip_grad,
        )
        if self.average is not None:
            self.average.update(self.model, applied)
        return terms, applied

    @contextmanager
    def evaluated_weights(self) -> Iterator[nn.Module]:
        """The model in evaluation mode with the weights that are evaluated: the averaged ones if there are."""
        self.model.eval()
        if self.average is None:
            yield self.model
        else:
            with self.average.applied_to(self.model):
                yield self.model

    def weights(self) -> dict:
        """`model` and `average` of a snapshot."""
        average = self.average.state_dict()["shadow"] if self.average else None
        return {"model": self.model.state_dict(), "average": average}

    @property
    def _names(self) -> list[str]:
        """Of the optimizer's parameters, in its order."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        return [names[parameter] for group in self.optimizer.param_groups for parameter in group["params"]]

    def state_dict(self) -> dict:
        """What a bit-exact resume needs besides the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "parameters": self._names,
            "scaler": self.precision.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Take over weights and state. Raises `CheckpointError` if they are of another model or optimizer."""
        training, path = checkpoint.training, checkpoint.path
        self._load_optimizer(checkpoint.content["model"], training["optimizer"], training.get("parameters"), path)
        if training["scaler"] and self.precision.scaler.is_enabled():
            self.precision.scaler.load_state_dict(training["scaler"])
        if self.average is not None and training["average"] is not None:
            self.average.load_state_dict(training["average"])
        elif self.average is not None:  # it begins here
            self.average = ModelAverage(self.model, self.average.decay)

    def _load_optimizer(self, weights: dict, state: dict, saved: list[str] | None, path: Path) -> None:
        kept = ("params", "lr")  # the present rate is the snapshot's; the base rate, initial_lr, is this run's
        wanted = [{k: v for k, v in group.items() if k not in kept} for group in self.optimizer.param_groups]
        try:
            self.model.load_state_dict(weights)
            if saved:
                state = regroup(state, saved, self.optimizer, self._names)
            self.optimizer.load_state_dict(with_options(state, wanted))
            check_optimizer(self.optimizer, path)
            match_strides(self.optimizer)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{path}: of another model or optimizer ({reason}); give its options, or --resume never"
            ) from error
