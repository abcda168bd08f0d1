"""Options of the demo."""

import math
import os
from dataclasses import dataclass

from engine.demo.addresses import Address, parse_address
from engine.inference.options import PredictOptions
from engine.inference.small_weights import SMALL_WEIGHTS, describe_small_weights
from utils.errors import OptionError
from utils.options import check, option


@dataclass(frozen=True)
class DemoOptions(PredictOptions):
    """demo"""

    source: str | None = option(
        None,
        "folder of images, one image or video, a quoted pattern such as 'shots/**/*.jpg', a camera (0, 1, ...), or the"
        " URL of a stream (rtsp://..., http://...)",
        flags=("--demo_folder", "--demo_floder"),
    )
    save_dir: str = option("demo_results", "output folder")
    recursive: bool = option(False, "also take the folders inside the folder; their names become part of the results'")
    opacity: float = option(0.5, "of the colours over the image")
    legend: bool = option(False, "name the classes that occur under each overlay")
    side_by_side: bool = option(False, "put the input to the left of each overlay")
    label_ids: bool = option(False, "also write the data set's original label ids of each image, as 8-bit PNG")
    confidence: bool = option(False, "also write how sure the model is of each image's pixels: 16-bit PNG and overlay")
    mask_video: bool = option(False, "also write the class colours of each video")
    show_fps: bool = option(True, "draw the frames processed per second into videos")
    max_frames: int | None = option(None, "frames that are taken of each video or stream; unset: all")
    seconds: float | None = option(None, "time after which a camera or stream is left; unset: Ctrl-C ends it")
    reconnect: float = option(30.0, "seconds for which a camera or stream that broke off is tried again; 0: not at all")

    def __post_init__(self) -> None:
        if not self.source:
            raise OptionError(
                "--source: name a folder, an image, a video, a pattern, a camera or a URL (--demo_folder is the same)"
            )
        if self.snapshot is None:
            object.__setattr__(self, "snapshot", str(SMALL_WEIGHTS))
        super().__post_init__()
        if not self.save_dir:
            raise OptionError("--save_dir: name the output folder")
        parse_address(self.source)
        check(0 <= self.opacity <= 1, "--opacity", self.opacity, "must be from 0 to 1")
        check(self.max_frames is None or self.max_frames >= 1, "--max_frames", self.max_frames, "must be at least 1")
        check(self.seconds is None or 0 < self.seconds < math.inf, "--seconds", self.seconds, "must be above 0")
        check(0 <= self.reconnect < math.inf, "--reconnect", self.reconnect, "must be at least 0")

    @property
    def address(self) -> Address | None:
        """The camera or stream, if `source` is one. Raises `OptionError` for a URL of another kind."""
        return parse_address(self.source)

    def notes(self) -> list[str]:
        """Those of `PredictOptions`, what the repository's small weights are, and a flag of folders only."""
        small = [describe_small_weights()] if self.snapshot == str(SMALL_WEIGHTS) else []
        walks = self.address is None and os.path.isdir(self.source)
        return small + super().notes() + ["--recursive: of a folder only"] * (self.recursive and not walks)
