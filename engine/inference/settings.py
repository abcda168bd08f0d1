"""How a predictor cuts images up and merges scores, checked in one place."""

import dataclasses
from dataclasses import dataclass

from utils.options import MAX_SIDE, check

MODES = ("whole", "sliding")
PROBABLE = ("prob", "logit")  # merges whose scores have probabilities
MERGES = (*PROBABLE, "exp_softmax")
MAX_PIXELS = 2**26


@dataclass(frozen=True)
class InferenceSettings:
    """The settings of a predictor.

    Attributes:
        mode: `whole` (each scale in one piece) or `sliding` (square windows).
        crop_size: Side of a window at every scale; None: the short side of the images as they come.
        base_size: Long side at scale 1; None: the image's own.
        overlap: Fraction of a window that its neighbour repeats, in [0, 1).
        scales: Scales whose scores are merged.
        flip: Also run each piece mirrored.
        merge: `prob` (mean softmax), `logit` (mean logits) or `exp_softmax` (the release's).
        window_batch: Windows per forward pass.
        max_pixels: Images with more, as they come or at one of the scales, are refused.

    Raises:
        OptionError: A value outside its range; the message names the flag.
    """

    mode: str = "whole"
    crop_size: int | None = None
    base_size: int | None = None
    overlap: float = 1 / 3
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    merge: str = "prob"
    window_batch: int = 4
    max_pixels: int = MAX_PIXELS

    @property
    def passes(self) -> int:
        """How often each pixel is predicted, overlapping windows aside."""
        return len(self.scales) * (2 if self.flip else 1)

    def __post_init__(self) -> None:
        check(self.mode in MODES, "--inference_mode", self.mode, f"choose one of {', '.join(MODES)}")
        check(self.merge in MERGES, "--merge", self.merge, f"choose one of {', '.join(MERGES)}")
        fits = self.scales and 0 < min(self.scales) <= max(self.scales) <= MAX_SIDE
        check(fits, "--scales", self.scales, f"give one or more numbers above 0, up to {MAX_SIDE}")
        check(0 <= self.overlap < 1, "--sliding_overlap", self.overlap, "must be at least 0 and less than 1")
        for name in ("crop_size", "base_size", "window_batch", "max_pixels"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"--{name}", value, "must be at least 1")
        fits = self.mode == "whole" or self.crop_size is None or self.crop_size**2 <= self.max_pixels
        check(fits, "--crop_size", self.crop_size, f"its windows have more pixels than --max_pixels {self.max_pixels}")


SETTINGS = tuple(item.name for item in dataclasses.fields(InferenceSettings))
