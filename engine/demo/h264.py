"""H.264 by the ffmpeg program, where it is installed: OpenCV's own packages can't write it."""

import functools
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np

LARGEST = 8190  # pixels a side; libx264 itself takes more, players don't


def has_h264(size: tuple[int, int]) -> bool:
    """Whether there is an ffmpeg that makes H.264 of frames of `size` (width,height)."""
    return 2 <= min(size) and max(size) <= LARGEST and _find() is not None


@functools.cache
def _find() -> str | None:
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    try:
        listed = subprocess.run([program, "-v", "error", "-encoders"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return program if b"libx264" in listed.stdout else None


class H264:
    """Writes frames as `cv2.VideoWriter` does.

    Args:
        path: `.mp4` file.
        rate: Frames per second.
        size: Width and height of the frames; where they are odd, the last column or row is left out.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        frames = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-video_size", f"{size[0]}x{size[1]}", "-framerate", str(rate)]
        even = ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0", "-pix_fmt", "yuv420p"]
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-movflags", "+faststart", "-f", "mp4"]
        self._process = subprocess.Popen(
            [_find(), "-v", "quiet", "-y", *frames, "-i", "pipe:0", *even, *coded, str(path.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: ffmpeg ends when it has all frames
        )

    def write(self, frame: np.ndarray) -> None:
        """Add BGR (H,W,3) uint8. Raises `OSError` if ffmpeg has ended, as on a full disk."""
        self._process.stdin.write(np.ascontiguousarray(frame).data)

    def release(self) -> None:
        """Finish the file; whether it is whole shows when it is read."""
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
