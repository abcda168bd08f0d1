"""Every kind of model in every format: parity at an odd size, of three images, at the least size; seconds; sizes.

Usage: python -m scripts.benchmarks.export_matrix --out docs/results/export_matrix.json [MODEL[:BACKBONE] ...]

Weights are fresh and scaled until all classes win somewhere, scenes are drawn. What FILE holds already is kept, so that
a run that was stopped continues. tests/scripts/test_export_matrix.py holds the gates.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

import network
from datasets.synthetic.split import SyntheticSplit
from engine.export.build import model_metadata
from engine.export.options import FILES
from engine.export.outputs import compare_outputs
from engine.export.runtimes import write_runtimes
from engine.inference.exported import Outputs
from network.fusing import ImageToLabels, fuse_for_inference
from scripts.benchmarks.cpu_demo_arms import even_classes
from utils.files import write_json

OUTPUTS = ("labels", "confidence", "probabilities")
SHAPES = {"odd size": (1, 181, 241), "batch 3": (3, 131, 97), "least size": (1, 64, 64), "traced size": (1, 192, 256)}
TIMM = (
    "convnext_atto",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "pvt_v2_b0",
    "regnety_002",
    "tf_efficientnet_lite0",
)
FORMATS = tuple(name for name in FILES if not name.startswith("web"))  # a page holds the ONNX file
FAMILIES = (
    *(name for name in network.list_models() if not name.endswith(("_r50", "_r101"))),  # the layers are r18's
    *(f"fenet:{backbone}" for backbone in TIMM),
)


def measure(spec: str, folder: Path, formats: Sequence[str] = FORMATS) -> dict:
    """Export one model, with fresh weights, to all `formats`, with open sides, and compare.

    Args:
        spec: A registered name, perhaps with a backbone: `fenet:convnext_atto`.
        folder: For the files.
        formats: Keys of `FILES`, but for web pages.

    Returns:
        `seconds` for tracing once and writing all; `formats`: name -> `megabytes`, and for each of `SHAPES` the share
        of equal labels, and the mean absolute errors of confidence and probabilities.
    """
    torch.manual_seed(0)
    arch, _, backbone = spec.partition(":")
    scenes = SyntheticSplit("val", count=3)
    model = network.build_model(arch, len(scenes.classes.names), **({"backbone": backbone} if backbone else {})).eval()
    even_classes(model, scenes.load_image(0))
    whole = ImageToLabels(fuse_for_inference(model), OUTPUTS).eval()
    metadata = model_metadata(model, scenes.classes.to_dict("synthetic"), None, OUTPUTS)
    start = time.perf_counter()
    files = write_runtimes(model, metadata, formats, folder, [scenes.load_image(i) for i in range(3)])
    result = {"model": spec, "seconds": round(time.perf_counter() - start, 1), "formats": {}}

    def original(images: np.ndarray) -> Outputs:
        with torch.inference_mode():
            return dict(zip(OUTPUTS, (x.numpy() for x in whole(torch.from_numpy(images))), strict=True))

    for name, exported in files.items():
        size = sum((folder / file).stat().st_size for file in FILES[name])
        compared = compare_outputs(original, exported.outputs, [_batch(scenes, *shape) for shape in SHAPES.values()])
        result["formats"][name] = {"megabytes": round(size / 1e6, 1), **dict(zip(SHAPES, compared, strict=True))}
    return result


def _batch(scenes: SyntheticSplit, count: int, height: int, width: int) -> np.ndarray:
    images = [scenes.load_image(index) for index in range(count)]
    return np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images])


def main(argv: Sequence[str]) -> None:
    """Measure models, one after the other, and write FILE after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=FAMILIES, metavar="MODEL[:BACKBONE]", help="unset: every kind")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON")
    options = parser.parse_args(argv)
    rows = json.loads(options.out.read_text())["models"] if options.out.exists() else []
    for spec in options.models:
        if spec in {row["model"] for row in rows}:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(spec, Path(folder)))
        write_json(options.out, {"shapes": SHAPES, "threads": torch.get_num_threads(), "models": rows})
        agreements = {name: found["odd size"]["agreement"] for name, found in rows[-1]["formats"].items()}
        print(spec, f"{rows[-1]['seconds']} s", agreements, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
