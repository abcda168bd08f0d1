"""Hand weights out: safetensors with a model card, or the key format of the authors' releases.

Usage: python scripts/export.py --snapshot FILE --out FOLDER [--format safetensors] [--eval DIR]

`safetensors` leaves FOLDER/model.safetensors, which eval.py, demo_folder.py and train.py take as --snapshot, a card
(README.md) and, where the snapshot lies in its run's folder, the options it was trained with (config.json).
`release` leaves FOLDER/release.pth.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import network
from engine.checkpoint import load_snapshot
from engine.handout import write_handout, write_release
from utils.cli import run_main
from utils.errors import CheckpointError, DataError, OptionError
from utils.files import file_sha256, make_folder
from utils.options import Parser
from utils.weights import find_weights


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
    left_out = write_release(find_weights(snapshot, source), network.release_key_map(model), folder / "release.pth")
    if left_out:
        print(f"left out, since the releases have no such part: {', '.join(left_out)}")
    print(f"weights are in {folder / 'release.pth'}")


def body(argv: Sequence[str]) -> None:
    """Parse and write."""
    parser = Parser(prog="export.py", description=__doc__.splitlines()[0])
    parser.add_argument("--snapshot", required=True, help="one of our snapshots")
    parser.add_argument("--out", required=True, help="output folder")
    parser.add_argument("--format", default="safetensors", choices=("safetensors", "release"), help="what is written")
    parser.add_argument("--eval", help="folder that eval.py left for this snapshot: its scores go into the card")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
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
