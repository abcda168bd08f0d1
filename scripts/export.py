"""Export the weights, or the model for another runtime.

Usage: python scripts/export.py --snapshot FILE --out FOLDER [--format F] [...]

`safetensors` leaves FOLDER/model.safetensors, which eval.py, demo_folder.py and train.py take as --snapshot, a card
(README.md) and, where the snapshot lies in its run's folder, the options it was trained with (config.json).
`release` leaves FOLDER/release.pth, with the keys of the authors' releases.
`onnx`, `torch` (or `torch-export`), `openvino` and `openvino-int8` take RGB images (N,H,W,3) uint8 of any size, one of
--size H,W, and give train ids (N,H,W) uint8 and further --outputs; the file is kept only if they agree with the
snapshot's on real images. `web` and `web-int8` leave one HTML file that runs such a model in a browser, offline. See
docs/export.md and docs/browser.md.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

from collections.abc import Sequence

from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.snapshot import read_snapshot_file
from engine.export.build import export_model
from engine.export.card import CARD, SCORES
from engine.export.options import FILES, ExportOptions
from engine.export.safetensors import rebuild_whole, write_handout, write_release
from engine.inference.small_weights import SMALL_WEIGHTS, describe_small_weights
from utils.cli import run_main
from utils.errors import CheckpointError, OptionError
from utils.files import file_sha256, output_folder, read_json
from utils.logging import setup_logging
from utils.options import Parser, add_options, collect


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(body, argv)


def body(argv: Sequence[str]) -> None:
    """Parse and write."""
    parser = Parser(prog="export.py", description=__doc__.splitlines()[0])
    add_options(parser, ExportOptions)
    options = collect(ExportOptions, parser.parse_args(argv))
    for note in options.notes():
        print(note)
    if options.snapshot == str(SMALL_WEIGHTS):
        print(describe_small_weights())
    if options.format in FILES:
        setup_logging(True)
        files, parity = export_model(options)
        print(f"{parity}\nwritten: {', '.join(map(str, files))}")
    else:
        export_weights(options)


def export_weights(options: ExportOptions) -> None:
    """Write `model.safetensors` and its card, or `release.pth`."""
    source = Path(options.snapshot)
    snapshot = read_snapshot_file(source)
    if not is_snapshot(snapshot) or "config" not in snapshot:
        raise CheckpointError(f"{source}: doesn't say which model it is of; take a snapshot that train.py wrote")
    metrics = read_metrics(options.eval, source) if options.format == "safetensors" else None
    with output_folder(options.out, "--out") as folder:
        write_weights(options, snapshot, metrics, folder)


def write_weights(options: ExportOptions, snapshot: dict, metrics: dict | None, folder: Path) -> None:
    """Write the files of a snapshot, with the scores of its evaluation, and say where they are."""
    source = Path(options.snapshot)
    if options.format == "release":
        if left_out := write_release(rebuild_whole(snapshot, source), folder / "release.pth"):
            print(f"left out, since the releases have no such part: {', '.join(left_out)}")
        print(f"weights are in {folder / 'release.pth'}")
        return
    trained = source.parent / "config.json"
    training_options = read_json(trained) if trained.exists() else None
    file = write_handout(snapshot, source, folder, training_options, metrics, options.half, options.license)
    card = folder / CARD
    kept = ", kept with its scores (--eval replaces them)" if metrics is None and SCORES in card.read_text() else ""
    print(f"weights are in {file}; the model card is {card}{kept}")


def read_metrics(folder: str | None, snapshot: Path) -> dict | None:
    """`metrics.json` of an evaluation of this very snapshot."""
    if folder is None:
        return None
    metrics = read_json(Path(folder) / "metrics.json")
    if metrics.get("snapshot_sha256") != file_sha256(snapshot):
        raise OptionError(f"--eval {folder}: is the evaluation of another snapshot than {snapshot}; evaluate this one")
    return metrics


if __name__ == "__main__":
    sys.exit(main())
