"""Segment images and videos and draw the result, alone or under torchrun: the snapshot is all it needs.

`python demo_folder.py --help`.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch

import datasets
import network
from config import DemoOptions, parse_demo
from datasets.base import ClassTable
from datasets.reading import IMAGE_SUFFIXES, read_image
from engine.checkpoint.loading import check_classes, load_model
from engine.demo.drawing import Drawing
from engine.demo.run import run_demo
from engine.demo.sources import find_sources
from engine.demo.video import VideoOutput
from engine.inference.batch import predict_batch
from engine.inference.compiled import CompiledModel
from engine.inference.exported import load_exported
from engine.inference.precision import AUTOCAST
from engine.inference.predictor import build_predictor
from engine.inference.score_maps import predict_labels
from network.fusing import fuse_for_inference
from transforms import build_eval_transform
from utils import distributed
from utils.cli import run_main
from utils.distributed import Process
from utils.errors import DataError
from utils.files import make_folder
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
        draw_all(options, process)


def draw_all(options: DemoOptions, process: Process) -> None:
    """Draw this process's share of the files; the summary is of all processes."""
    log = get_logger()
    sources = find_sources(options.source, (*IMAGE_SUFFIXES, ".gif"), options.save_dir, options.recursive)
    kind = "images and videos" if any(source.is_video for source in sources) else "images"
    if options.label_ids and kind != "images":
        log.info("--label_ids: of images only; for those of a video extract its frames into a folder first")
    predict, classes = build(options, process.device)
    folder = make_folder(options.save_dir, "--save_dir")
    drawing = Drawing(classes, options.opacity, options.legend, options.side_by_side)
    video = VideoOutput(options.mask_video, options.show_fps, options.max_frames)
    share = sources[process.rank :: process.world_size]
    own = run_demo(share, read_image, predict, drawing, folder, options.label_ids, video)
    results = distributed.gather_objects(own)
    done, problems = sum(count for count, _ in results), [line for _, lines in results for line in lines]
    for problem in problems if process.is_main else ():
        log.warning(problem)
    log.info(f"{done} of {len(sources)} {kind} done; pictures are in {folder}")
    if not done:
        raise DataError(f"{options.source}: none of its {len(sources)} {kind} could be used; see the lines above")


def build(options: DemoOptions, device: torch.device) -> tuple[Callable[[np.ndarray, str], np.ndarray], ClassTable]:
    """A function RGB (H,W,3) uint8 and its name -> train ids (H,W) uint8, and the classes."""
    classes = datasets.class_table(options.dataset) if options.dataset else None
    names = classes.names if classes else None
    if options.exported:
        exported = load_exported(options.snapshot, options.runs_on, options.max_pixels)
        if classes is not None:
            check_classes(exported.header, names, options.snapshot)
        table = classes or ClassTable.from_dict(exported.header["classes"])
        return lambda image, name: exported(image), table
    model, header, _ = load_model(options.snapshot, network.build_model, options.arch, names)
    if classes is None:
        classes = ClassTable.from_dict(header["classes"])
    model = fuse_for_inference(model).to(device, memory_format=torch.channels_last)
    if options.compile:
        model = CompiledModel(model, options.amp != "off")
    alone = options.inference_mode == "whole" and len(options.scales) == 1 and not options.flip
    unmerged = {"merge": "logit"} if alone else {}  # the highest logit has the highest share: no softmax is needed
    predictor = build_predictor(model, **options.predictor() | unmerged)
    transform = build_eval_transform(model.encoder.mean, model.encoder.std)

    def predict(image: np.ndarray, name: str) -> np.ndarray:
        sample = transform({"image": image}, np.random.default_rng(0))
        batch = {"image": sample["image"][None], "name": [name]}
        return predict_labels(predict_batch(predictor, batch, device, AUTOCAST[options.amp]))[0].cpu().numpy()

    return predict, classes


if __name__ == "__main__":
    sys.exit(main())
