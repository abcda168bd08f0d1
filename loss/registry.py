"""The criteria by name. A new loss is one file and one line in LOSSES."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from loss.boundary import BoundaryLoss
from loss.cross_entropy import CrossEntropy
from loss.image_weighted import ImageWeightedCrossEntropy
from loss.ohem import OhemCrossEntropy
from loss.relaxed_boundary import RelaxedBoundaryLoss
from loss.segmentation import SegmentationLoss
from utils.errors import OptionError
from utils.kernels import note_fallback, require_triton


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """What the builders may ask for; each takes what its criterion needs."""

    num_classes: int
    ignore_label: int = 255
    thresh: float = 0.7
    min_kept: int = 100_000
    upper_bound: float = 1.0
    batch_weighting: bool = False
    border: int = 1
    strict_classes: tuple[int, ...] = ()


LOSSES: dict[str, Callable[[LossOptions], nn.Module]] = {
    "ce": lambda o: CrossEntropy(o.ignore_label),
    "ohem": lambda o: OhemCrossEntropy(o.thresh, o.min_kept, o.ignore_label),
    "image_weighted": lambda o: ImageWeightedCrossEntropy(
        o.num_classes, o.ignore_label, o.upper_bound, o.batch_weighting
    ),
    "relaxed_boundary": lambda o: RelaxedBoundaryLoss(
        o.num_classes, o.ignore_label, o.border, o.upper_bound, o.strict_classes
    ),
}
HARD_LOSSES = ("ce", "ohem")  # what may take over from a relaxed criterion


def _build_criterion(name: str, options: LossOptions, kernels: str) -> nn.Module:
    if kernels != "triton":
        return LOSSES[name](options)
    require_triton()
    from loss.triton.criteria import TritonCrossEntropy, TritonOhemCrossEntropy

    if name == "ce":
        return TritonCrossEntropy(options.ignore_label)
    if name == "ohem":
        return TritonOhemCrossEntropy(options.thresh, options.min_kept, options.ignore_label)
    note_fallback(f"the loss {name}")
    return LOSSES[name](options)


def list_losses() -> list[str]:
    """Names that `build_loss` knows, sorted."""
    return sorted(LOSSES)


def build_loss(
    name: str,
    num_classes: int,
    ignore_label: int = 255,
    *,
    thresh: float = 0.7,
    min_kept: int = 100_000,
    upper_bound: float = 1.0,
    batch_weighting: bool = False,
    border: int = 1,
    strict_classes: tuple[int, ...] = (),
    rlx_off_epoch: int = -1,
    hard_name: str = "ce",
    aux_weight: float = 1.0,
    boundary_weight: float = 1.0,
    kernels: str = "torch",
) -> SegmentationLoss:
    """Build the criterion of a training step.

    Args:
        name: one of `list_losses()`.
        num_classes: classes of the logits.
        ignore_label: label of the pixels that do not count.
        thresh, min_kept: OHEM's probability threshold and least number of pixels per process.
        upper_bound, batch_weighting: bound of the class weights, and whether shares are taken over the batch.
        border, strict_classes: reach of the relaxation in pixels, and classes whose pixels are not relaxed.
        rlx_off_epoch, hard_name: epochs after which `hard_name` ("ce" or "ohem") takes over from
            `relaxed_boundary`; -1: never. The other criteria have nothing to switch off.
        aux_weight, boundary_weight: weights of each auxiliary head and of the boundary head; a boundary weight of 0
            leaves that output alone.
        kernels: `torch`, or `triton` for the criteria that have a kernel of it.

    Raises:
        OptionError: an unknown name or a value that cannot work.
        EnvironmentFault: Triton's kernels, and the package isn't installed.
    """
    if name not in LOSSES:
        raise OptionError(
            f"unknown loss {name!r}; choose one of {', '.join(list_losses())} "
            "(on the command line --ohem, --img_wt_loss, --jointwtborder; none of them: ce)"
        )
    if hard_name not in HARD_LOSSES:
        raise OptionError(
            f"{hard_name!r} cannot take over after --rlx_off_epoch; choose one of {', '.join(HARD_LOSSES)} (--ohem)"
        )
    options = LossOptions(
        num_classes=num_classes,
        ignore_label=ignore_label,
        thresh=thresh,
        min_kept=min_kept,
        upper_bound=upper_bound,
        batch_weighting=batch_weighting,
        border=border,
        strict_classes=tuple(strict_classes),
    )
    return SegmentationLoss(
        _build_criterion(name, options, kernels),
        hard=_build_criterion(hard_name, options, kernels) if name == "relaxed_boundary" else None,
        rlx_off_epoch=rlx_off_epoch,
        aux_weight=aux_weight,
        boundary=BoundaryLoss(ignore_label) if boundary_weight else None,
        boundary_weight=boundary_weight,
    )
