"""Suspicious regions as files of labelme, an annotation tool, to correct them there."""

from collections.abc import Sequence
from pathlib import Path

from scripts.label_fault_search.predictions import Judges
from scripts.label_fault_search.search import Fault
from utils.files import write_json

VERSION = "5.5.0"  # of labelme, whose format this is
MOST_SHAPES = 10


def write_labelme(folder: Path, faults: Sequence[Fault], judges: Judges) -> None:
    """A JSON file an image: a polygon for each region, named after the predicted class; the label's is beside it."""
    split, classes = judges.split, judges.split.classes.names
    for fault in faults:
        height, width = split.image_size(fault.index)
        name, files = split.names[fault.index], split.files(fault.index)
        shapes = [
            {
                "label": classes[region.predicted],
                "points": [list(map(float, point)) for point in region.outline],
                "group_id": None,
                "description": f"labelled {classes[region.label]}",
                "shape_type": "polygon",
                "flags": {},
            }
            for _, region in fault.regions[:MOST_SHAPES]
            if len(region.outline) >= 3
        ]
        content = {"version": VERSION, "flags": {}, "shapes": shapes, "imageData": None}
        content |= {"imagePath": str(files[0].resolve()) if files else name, "imageHeight": height}
        write_json(folder / f"{name}.json", content | {"imageWidth": width})
