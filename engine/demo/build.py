"""The demo, composed of its options."""

from dataclasses import replace

import torch

import datasets
from engine.demo.drawing import Drawing
from engine.demo.options import DemoOptions
from engine.demo.run import Demo
from engine.inference.build import load
from engine.inference.precision import check_processes


def build_demo(options: DemoOptions, device: torch.device) -> Demo:
    """Load the model and its classes.

    Raises:
        OptionError: Bare weights without --arch and --dataset.
        CheckpointError: The snapshot is missing, damaged, or of other classes than those of --dataset.
    """
    classes = datasets.class_table(options.dataset) if options.dataset else None
    unmerged = options.inference_mode == "whole" and len(options.scales) == 1 and not options.flip
    if unmerged:  # the highest logit has the highest probability: no softmax is needed
        options = replace(options, merge="logit")
    model = load(options, device, classes)
    check_processes(model.precision)
    drawing = Drawing(model.classes, options.opacity, options.legend, options.side_by_side)
    return Demo(model, drawing, options)
