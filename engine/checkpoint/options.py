"""Options of the weights that a run starts from."""

from dataclasses import dataclass

from utils.errors import OptionError
from utils.options import option


@dataclass(frozen=True)
class WeightOptions:
    """weights"""

    pretrained: str | None = option(None, "encoder weights: imagenet, timm, torchvision, efficientnet-lite0, or a file")
    partial: bool = option(False, "with --pretrained or --snapshot: load what fits and log what doesn't")
    snapshot: str | None = option(None, "start from the weights of this file")
    restore_optimizer: bool = option(False, "with --snapshot: restore its optimizer and progress too")

    def __post_init__(self) -> None:
        if self.restore_optimizer and not self.snapshot:
            raise OptionError("--restore_optimizer: needs --snapshot FILE, whose optimizer is taken over")
