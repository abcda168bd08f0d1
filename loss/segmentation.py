"""The criterion of a training step: the main output, the auxiliary heads and the boundary head together."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from loss.distillation import DistillationLoss


class SegmentationLoss(nn.Module):
    """Weighs what a model returns into named terms and their sum.

    Args:
        criterion: (logits, labels) -> scalar, for the main output and for each auxiliary head.
        hard: takes over from `criterion` after `rlx_off_epoch` epochs.
        rlx_off_epoch: epochs with `criterion`; -1: all of them.
        aux_weight: weight of each auxiliary head.
        boundary: (probability, labels) -> scalar for the boundary head; None: that output is left alone.
        boundary_weight: weight of the boundary head.
        teacher_weight: weight of what a teacher says of the images, where outputs hold that; 0: it is left alone.
        ignore_label: label of the pixels that don't count for the teacher.
        added: further (logits, labels) -> scalar for the main output, and its weight, by the names of their terms.
    """

    def __init__(
        self,
        criterion: nn.Module,
        *,
        hard: nn.Module | None = None,
        rlx_off_epoch: int = -1,
        aux_weight: float = 1.0,
        boundary: nn.Module | None = None,
        boundary_weight: float = 1.0,
        teacher_weight: float = 0.0,
        ignore_label: int = 255,
        added: Mapping[str, tuple[nn.Module, float]] | None = None,
    ) -> None:
        super().__init__()
        self.criterion = criterion
        self.hard = hard
        self.rlx_off_epoch = rlx_off_epoch
        self.aux_weight = aux_weight
        self.boundary = boundary
        self.boundary_weight = boundary_weight
        self.teacher = DistillationLoss(ignore_label) if teacher_weight else None
        self.teacher_weight = teacher_weight
        self.added_weights = {name: weight for name, (_, weight) in (added or {}).items()}
        for name, (module, _) in (added or {}).items():
            self.add_module(name, module)  # a child, since children are what is compiled
        self.epoch = 0

    def set_progress(self, epoch: int) -> None:
        """Say which epoch runs, counted from 0; call it before each one, after a resume too."""
        self.epoch = epoch

    @property
    def active(self) -> nn.Module:
        """The criterion of the current epoch."""
        relaxed = self.hard is None or self.rlx_off_epoch < 0 or self.epoch < self.rlx_off_epoch
        return self.criterion if relaxed else self.hard

    def forward(self, outputs: Mapping[str, Tensor | Sequence[Tensor]], labels: Tensor) -> dict[str, Tensor]:
        """Terms of the loss as they enter `total`, their sum.

        Args:
            outputs: what a model returns: `logits` (N,C,h,w), perhaps `aux` (list of such) and `boundary` (N,1,h,w);
                perhaps `teacher`, a teacher's logits for the same crops, (N,C,H/4,W/4).
            labels: (N,H,W) int64.

        Returns:
            Scalars `main`, `aux` and `boundary` (the last two where the model has them), `teacher`, those of `added`,
            and `total`.
        """
        terms = {"main": self.active(outputs["logits"], labels)}
        if outputs.get("aux"):
            terms["aux"] = self.aux_weight * sum(self.active(aux, labels) for aux in outputs["aux"])
        if self.boundary is not None and outputs.get("boundary") is not None:
            terms["boundary"] = self.boundary_weight * self.boundary(outputs["boundary"], labels)
        if self.teacher is not None and outputs.get("teacher") is not None:
            terms["teacher"] = self.teacher_weight * self.teacher(outputs["logits"], outputs["teacher"], labels)
        for name, weight in self.added_weights.items():
            terms[name] = weight * getattr(self, name)(outputs["logits"], labels)
        return {**terms, "total": sum(terms.values())}
