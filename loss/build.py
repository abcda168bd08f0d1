"""The criterion of a training step."""

from collections.abc import Sequence

from torch import nn

from loss.boundary import BoundaryLoss
from loss.options import OLD_OPTIONS, LossOptions
from loss.registry import ADDED, LOSSES, create_loss
from loss.segmentation import SegmentationLoss
from utils.errors import OptionError
from utils.kernels import note_fallback, require_triton


def build_loss(
    options: LossOptions,
    num_classes: int,
    ignore_label: int = 255,
    kernels: str = "torch",
    class_weights: Sequence[float] | None = None,
) -> SegmentationLoss:
    """The criterion that `options` name, with the weights of its terms.

    A boundary weight of 0 leaves that output alone.

    Args:
        options: Checked already, all but what only the number of classes decides.
        num_classes: Classes of the logits.
        ignore_label: Label of the pixels that don't count.
        kernels: `torch`, or `triton` for the criteria that have a kernel of it.
        class_weights: Of `given_weights.class_weights`; None: all classes count alike.

    Raises:
        OptionError: A value that can't work with so many classes.
        EnvironmentFault: Triton's kernels, and the package isn't installed.
    """

    def criterion(name: str) -> nn.Module:
        try:
            kind = _implementation(name, kernels if class_weights is None else "torch")
            return create_loss(kind, num_classes, ignore_label, options.arguments(name), class_weights)
        except ValueError as error:
            flags = ", ".join(f"--{flag}" for flag, places in OLD_OPTIONS.items() if name in places)
            raise OptionError(f"--loss {name} ({flags or '--loss_args'}): {error}") from error

    if class_weights is not None and kernels != "torch":
        note_fallback("a loss with --class_weights")
    return SegmentationLoss(
        criterion(options.name),
        hard=criterion(options.hard_name) if options.name == "relaxed_boundary" else None,
        rlx_off_epoch=options.rlx_off_epoch,
        aux_weight=options.aux_weight,
        boundary=BoundaryLoss(ignore_label) if options.boundary_weight else None,
        boundary_weight=options.boundary_weight,
        teacher_weight=options.teacher_weight if options.teacher else 0.0,
        ignore_label=ignore_label,
        added={
            name: (create_loss(ADDED[name], num_classes, ignore_label, {}), weight)
            for name, weight in options.added.items()
        },
    )


def _implementation(name: str, kernels: str) -> type[nn.Module]:
    if kernels == "torch":
        return LOSSES[name]
    require_triton()
    from loss.triton.criteria import KERNELS

    if name not in KERNELS:
        note_fallback(f"the loss {name}")
    return KERNELS.get(name, LOSSES[name])
