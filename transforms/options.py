"""Options of the random augmentation."""

from dataclasses import dataclass

from transforms.corruptions import CORRUPTIONS, check_frost, check_names
from utils.errors import OptionError
from utils.options import check, check_side, numbers, option

MAX_SCALE, MAX_TURN = 100, 180


def parse_size(text: str) -> int | tuple[int, int]:
    """'512' -> 512 (square); '360,480' -> (360, 480), height and width."""
    sizes = numbers(int)(text)
    if len(sizes) not in (1, 2):
        raise ValueError(text)
    return sizes[0] if len(sizes) == 1 else sizes


parse_size.__name__ = "one number of pixels, or height,width, such as 360,480"


def parse_names(text: str) -> tuple[str, ...]:
    """'fog,snow' -> ('fog', 'snow')."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


parse_names.__name__ = "names with commas between them"


@dataclass(frozen=True)
class AugmentOptions:
    """augmentation"""

    crop_size: int | tuple = option(720, "training crop: one number, or height,width", parse=parse_size)
    max_crop_epoch: int = option(
        100000, "last epoch that trains on crops; after it on whole images, without scaling but that of --pre_size"
    )
    pre_size: int | None = option(None, "resize the short side to this before scaling")
    scale_min: float = option(0.5, "least random scale")
    scale_max: float = option(2.0, "greatest random scale")
    mirror: bool = option(True, "mirror every second crop, at random")
    rotate: float = option(0.0, "greatest random turn of a crop about its centre to either side, degrees; 0: off")
    color_aug: float = option(0.25, "strength of the colour jitter; 0: off")
    gblur: bool = option(True, "random Gaussian blur")
    bblur: bool = option(False, "bilateral blur instead of Gaussian")
    augment_corruption: float = option(0.0, "probability that a crop is corrupted: noise, blur, weather, ...; 0: off")
    corruptions: tuple = option(
        (), "what --augment_corruption samples from; unset: all but frost, which needs photos", parse=parse_names
    )
    cutmix: float = option(0.0, "probability that a box of another crop of the batch is pasted over a crop; 0: off")
    classmix: float = option(0.0, "probability that half of another crop's classes are pasted over a crop; 0: off")
    augment: str = option(
        "cpu", "where samples are augmented: by the loader processes, or on the device", choices=("cpu", "device")
    )

    def __post_init__(self) -> None:
        for size in self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size,):
            check_side("--crop_size", size)
        check_side("--pre_size", self.pre_size)
        if not 0 < self.scale_min <= self.scale_max <= MAX_SCALE:
            raise OptionError(
                f"--scale_min {self.scale_min} --scale_max {self.scale_max}: need 0 < min <= max <= {MAX_SCALE}"
            )
        check(self.max_crop_epoch >= 0, "--max_crop_epoch", self.max_crop_epoch, "must not be negative")
        check(self.color_aug >= 0, "--color_aug", self.color_aug, "must not be negative")
        check(
            0 <= self.rotate <= MAX_TURN, "--rotate", self.rotate, f"must be from 0 to {MAX_TURN} degrees, such as 10"
        )
        if self.augment == "device" and self.rotate:
            raise OptionError(f"--augment device --rotate {self.rotate}: turning needs --augment cpu")
        if self.augment == "device" and self.bblur:
            raise OptionError("--augment device --bblur: the bilateral blur needs --augment cpu")
        self._check_corruptions()
        for name in ("cutmix", "classmix"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"--{name}", value, "must be a probability, from 0 to 1")
        mixed = self.cutmix + self.classmix
        check(mixed <= 1, "--cutmix and --classmix", mixed, "must add up to at most 1, since a crop is mixed once")

    def trains_whole(self, epoch: int) -> bool:
        """True if samples of this epoch (from 0) are whole images."""
        return epoch > self.max_crop_epoch

    @property
    def sampled_corruptions(self) -> tuple[str, ...]:
        """Names."""
        return self.corruptions or tuple(name for name in CORRUPTIONS if name != "frost")

    def _check_corruptions(self) -> None:
        probability = self.augment_corruption
        check(0 <= probability <= 1, "--augment_corruption", probability, "must be a probability, from 0 to 1")
        check_names("--corruptions", self.sampled_corruptions)
        if probability and self.augment == "device":
            raise OptionError("--augment device --augment_corruption: corruptions need --augment cpu")
        if probability and "frost" in self.corruptions:
            check_frost(f"--corruptions {','.join(self.corruptions)}")

    @property
    def blur(self) -> str:
        """`gaussian`, `bilateral` or `off`."""
        return "bilateral" if self.bblur else "gaussian" if self.gblur else "off"
