"""Options of the weights that a run starts from."""

from dataclasses import dataclass

from utils.errors import OptionError
from utils.options import option


@dataclass(frozen=True)
class WeightOptions:
    """weights"""

    pretrained: str | None = option(
        None,
        "encoder weights: imagenet, timm, torchvision, efficientnet-lite0 (1, 2), or a file, such as a snapshot",
    )
    partial: bool = option(False, "with --pretrained or --snapshot: load what fits and log what doesn't")
    snapshot: str | None = option(
        None,
        "fine-tune this file: its model, where no option says otherwise, and its heads for classes of the same name",
    )
    restore_optimizer: bool = option(False, "with --snapshot: restore its optimizer and progress too")

    def __post_init__(self) -> None:
        if self.restore_optimizer and not self.snapshot:
            raise OptionError("--restore_optimizer: needs --snapshot FILE, whose optimizer is taken over")
