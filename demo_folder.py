"""Segment images, videos, a camera or a stream and draw the result: the snapshot is all it needs.

`python demo_folder.py --help`.
"""

import sys

if __name__ == "__main__":  # before PyTorch is loaded
    from utils.machine import limit_spinning

    limit_spinning()

from collections.abc import Sequence

from config import DemoOptions, parse_demo
from engine.demo.build import build_demo
from engine.demo.sources import find_sources
from utils import distributed
from utils.cli import run_main
from utils.distributed import Process
from utils.errors import DataError, OptionError
from utils.files import output_folder
from utils.logging import get_logger, setup_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


def run(argv: Sequence[str]) -> None:
    """Parse, build, draw, summarise."""
    options, notes = parse_demo(argv)
    with distributed.job(options.device) as process:
        log = setup_logging(process.is_main)
        for note in notes:
            log.info(note)
        if options.address is None:
            draw_all(options, process)
        else:
            draw_live(options, process)


def draw_all(options: DemoOptions, process: Process) -> None:
    """Draw this process's share of the files; the summary is of all processes.

    Raises:
        DataError: None of the files could be used.
    """
    log, sources = get_logger(), find_sources(options.source, options.save_dir, options.recursive)
    kind = "images and videos" if any(source.is_video for source in sources) else "images"
    if kind != "images":
        note_images_only(options)
    note_unused(options, ("seconds", "reconnect"), "of a camera or stream only")
    if kind == "images":
        note_unused(options, ("mask_video", "max_frames", "show_fps"), "of videos only")
    demo = build_demo(options, process.device)
    with output_folder(options.save_dir, "--save_dir") as folder:
        results = distributed.gather_objects(demo.run(sources, slice(process.rank, None, process.world_size)))
    done, problems = sum(count for count, _ in results), [line for _, lines in results for line in lines]
    for problem in problems if process.is_main else ():
        log.warning(problem)
    if not done:
        raise DataError(f"{options.source}: none of its {len(sources)} {kind} could be used; see the lines above")
    log.info(f"{done} of {len(sources)} {kind} done; pictures are in {folder}")


def draw_live(options: DemoOptions, process: Process) -> None:
    """Draw a camera or stream until it ends or is left.

    Raises:
        OptionError: There are several processes, and one stream.
        EnvironmentFault, DataError: It couldn't be opened, or broke off; what was drawn until then is kept.
    """
    if process.world_size > 1:
        raise OptionError(f"--source {options.address.shown}: one process draws a stream; start it without torchrun")
    note_images_only(options)
    demo = build_demo(options, process.device)
    with output_folder(options.save_dir, "--save_dir"):
        frames = demo.run_stream(options.address)
    if not frames:
        get_logger().info("stopped before the first frame")


def note_images_only(options: DemoOptions) -> None:
    """Say which options do nothing for a video or stream."""
    hint = "of images only; for those of a video extract its frames into a folder first"
    note_unused(options, ("label_ids", "confidence"), hint)


def note_unused(options: DemoOptions, names: Sequence[str], why: str) -> None:
    """Say which of the options `names` were given, and do nothing."""
    for name in names:
        if getattr(options, name) != getattr(DemoOptions, name):
            get_logger().info(f"--{name}: {why}")


if __name__ == "__main__":
    sys.exit(main())
