"""Options of the loss."""

from dataclasses import dataclass

from utils.options import check, numbers, option


@dataclass(frozen=True)
class LossOptions:
    """loss"""

    ohem: bool = option(False, "OHEM cross-entropy")
    ohem_thresh: float = option(0.7, "OHEM: pixels up to this probability of their class are kept")
    ohem_min_kept: int = option(100_000, "OHEM: least number of kept pixels per process")
    aux_weight: float = option(1.0, "weight of each auxiliary head")
    boundary_weight: float = option(1.0, "weight of the boundary head")
    img_wt_loss: bool = option(False, "image-weighted cross-entropy")
    batch_weighting: bool = option(False, "class weights over the batch instead of each image")
    wt_bound: float = option(1.0, "upper bound of the class weights", flags=("-wb",))
    jointwtborder: bool = option(False, "boundary label relaxation")
    strict_bdr_cls: tuple = option((), "train ids that relaxation leaves alone, comma-separated", parse=numbers(int))
    rlx_off_epoch: int = option(-1, "epoch at which relaxation ends; -1: never")

    def __post_init__(self) -> None:
        check(0 < self.ohem_thresh <= 1, "--ohem_thresh", self.ohem_thresh, "is a probability: give a value in (0, 1]")
        for name in ("ohem_min_kept", "wt_bound", "aux_weight", "boundary_weight"):
            check(getattr(self, name) >= 0, f"--{name}", getattr(self, name), "must not be negative")

    @property
    def name(self) -> str:
        """Name of the criterion; of several flags the first of this order wins: image-weighted, relaxed, OHEM."""
        return "image_weighted" if self.img_wt_loss else "relaxed_boundary" if self.jointwtborder else self.hard_name

    @property
    def hard_name(self) -> str:
        """Name of the criterion without relaxation."""
        return "ohem" if self.ohem else "ce"
