"""Hand weights out, or a model that runs elsewhere.

Usage: python scripts/export.py --snapshot FILE --out FOLDER [--format F] [...]

`safetensors` leaves FOLDER/model.safetensors, which eval.py, demo_folder.py and train.py take as --snapshot, a card
(README.md) and, where the snapshot lies in its run's folder, the options it was trained with (config.json).
`release` leaves FOLDER/release.pth, with the keys of the authors' releases.
`onnx`, `torch-export`, `openvino` and `openvino-int8` take an RGB image (1,H,W,3) uint8 and give train ids (1,H,W)
uint8; the file is kept only if its labels agree with the snapshot's on real images. See docs/export.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import network
from engine.checkpoint.snapshot import load_snapshot
from engine.checkpoint.weights import find_weights, fit_weights
from engine.export.safetensors import write_handout, write_release
from scripts.export_runtime import FILES, export_runtime
from utils.cli import run_main
from utils.errors import CheckpointError, DataError, OptionError
from utils.files import file_sha256, make_folder
from utils.options import Parser, finite, numbers


def read_json(path: Path) -> dict:
    """The content of a JSON file. Raises `DataError` if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); train or evaluate again") from error


def read_metrics(folder: str | None, snapshot: Path) -> dict | None:
    """`metrics.json` of an evaluation of this very snapshot."""
    if folder is None:
        return None
    metrics = read_json(Path(folder) / "metrics.json")
    if metrics["snapshot_sha256"] != file_sha256(snapshot):
        raise OptionError(f"--eval {folder}: is the evaluation of another snapshot than {snapshot}; evaluate this one")
    return metrics


def export_release(snapshot: dict, source: Path, folder: Path) -> None:
    """Write `release.pth`, and say what the format has no place for."""
    config = snapshot["config"]
    model = network.build_model(config["arch"], config["num_classes"], **config["options"])
    weights = find_weights(snapshot, source)
    fit_weights(model, weights, str(source), partial=False)  # so that nothing is missing
    left_out = write_release(weights, network.release_key_map(model), folder / "release.pth")
    if left_out:
        print(f"left out, since the releases have no such part: {', '.join(left_out)}")
    print(f"weights are in {folder / 'release.pth'}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="export.py", description=__doc__.splitlines()[0])
    parser.add_argument("--snapshot", required=True, help="one of our snapshots; for a model also bare weights")
    parser.add_argument("--out", required=True, help="output folder")
    formats = ("safetensors", "release", *FILES)
    parser.add_argument("--format", default="safetensors", choices=formats, help="what is written")
    parser.add_argument("--eval", help="safetensors: folder that eval.py left for this snapshot; its scores are shown")
    group = parser.add_argument_group("models that run elsewhere")
    group.add_argument("--size", type=numbers(int), help="height,width of the images; unset: that of the first image")
    group.add_argument("--dynamic", action="store_true", help="take images of any size")
    group.add_argument("--calibration", help="folder of images that int8 is calibrated on, and labels are compared on")
    group.add_argument("--data_root", help="data set's folder: labels are compared, and scored, on its images instead")
    group.add_argument("--split", default="val", help="which of its splits")
    group.add_argument("--num_images", type=int, default=32, help="images that are used at most, evenly spaced")
    group.add_argument("--min_agreement", type=finite, help="least share of equal labels; unset: 0.999, int8 0.95")
    group.add_argument("--max_loss", type=finite, help="largest loss of mean IoU; unset: 0.001, int8 0.01")
    group.add_argument("--arch", help="bare weights: model name")
    group.add_argument("--dataset", help="bare weights: data set whose classes they know")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser.parse_args(argv)


def body(argv: Sequence[str]) -> None:
    """Parse and write."""
    options = parse(argv)
    if options.format in FILES:
        export_runtime(options)
        return
    source = Path(options.snapshot)
    snapshot = load_snapshot(source)
    if "config" not in snapshot:
        raise CheckpointError(f"{source}: doesn't say which model it is of; take a snapshot that train.py wrote")
    folder = make_folder(options.out, "--out")
    if options.format == "release":
        export_release(snapshot, source, folder)
        return
    trained = source.parent / "config.json"
    training_options = read_json(trained) if trained.exists() else None
    file = write_handout(snapshot, source, folder, training_options, read_metrics(options.eval, source))
    print(f"weights are in {file}; the model card is {folder / 'README.md'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


if __name__ == "__main__":
    sys.exit(main())
