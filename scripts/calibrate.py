"""Calibrate a snapshot's probabilities: fit one temperature on a split, and write a snapshot that keeps it.

Usage: python scripts/calibrate.py SNAPSHOT --data_root D --split val --out FILE [options of eval.py]

One pass over the split keeps a sample of its labelled pixels (seed 0, at most 2^23 class scores); the temperature is
where their negative log-likelihood is least, in float64. FILE (.pth, or .safetensors) is the snapshot with that
`temperature`, which eval.py, demo_folder.py and the Segmenter divide by. Labels never change. See docs/confidence.md.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import os
from collections.abc import Sequence

from config import eval_parser
from datasets.dataset import EvaluationDataset
from engine.checkpoint.archive import write_safetensors
from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.keys import find_weights
from engine.checkpoint.snapshot import read_snapshot_file, save_snapshot
from engine.evaluation.build import choose_part, load_with_split
from engine.evaluation.options import EvalOptions
from engine.evaluation.run import shared_loader
from engine.evaluation.temperature import ScoreSample, fit_temperature, sampled_error
from utils.cli import run_main
from utils.devices import choose_device
from utils.distributed import Process
from utils.errors import CheckpointError, OptionError
from utils.files import make_folder, write_atomically
from utils.logging import Progress, get_logger, setup_logging
from utils.options import collect

USELESS = ("dump_images", "submission", "report", "boundary", "confidence", "resume", "split_index", "split_count")
USELESS += ("class_map", "instance_scores")
SUFFIXES = (".pth", ".safetensors")


def parse(argv: Sequence[str]) -> tuple[Path, EvalOptions, list[str]]:
    """The new file, the options that eval.py shares, and notes. Raises `OptionError`."""
    parser = eval_parser()
    parser.prog, parser.description = "calibrate.py", __doc__.splitlines()[0]
    parser.epilog = f"Of eval.py's options these are refused: {', '.join(f'--{name}' for name in USELESS)}."
    own = parser.add_argument_group("calibration")
    own.add_argument("snapshot", metavar="SNAPSHOT", help="one of our snapshots")
    own.add_argument("--out", dest="save_dir", default=argparse.SUPPRESS, help="the new file, .pth or .safetensors")
    found = parser.parse_args(argv)
    if not found.save_dir or Path(found.save_dir).suffix not in SUFFIXES:
        raise OptionError(f"--out {found.save_dir}: name the new file, {' or '.join(SUFFIXES)}")
    if os.path.realpath(found.save_dir) == os.path.realpath(found.snapshot):
        raise OptionError(f"--out {found.save_dir}: is the snapshot; name another file")
    for name in USELESS:
        if getattr(found, name) != parser.get_default(name):
            raise OptionError(f"--{name}: belongs to eval.py; leave it out")
    options = collect(EvalOptions, found)
    if options.exported:
        raise OptionError(f"{options.snapshot}: gives labels without probabilities; calibrate its snapshot")
    options.check_probable("calibrate.py")
    return Path(options.save_dir), options, found.notes + options.notes()


def run(argv: Sequence[str]) -> None:
    """Parse, predict, fit, write."""
    path, options, notes = parse(argv)
    make_folder(path.parent, "--out")
    setup_logging(True)
    log = get_logger()
    for note in notes:
        log.info(note)
    snapshot = read_snapshot_file(options.snapshot)
    if not is_snapshot(snapshot) or "config" not in snapshot:
        raise CheckpointError(f"{options.snapshot}: holds bare weights; take a snapshot that train.py wrote")
    parts, before = sample_split(options)
    temperature, labels = fit_temperature(*parts), parts[1]
    write(path, snapshot, temperature, options.snapshot)
    log.info(f"{len(labels)} sampled pixels; temperature {temperature:.4f}; {path}")
    print(f"ece {sampled_error(*parts, before):.4f} -> {sampled_error(*parts, temperature):.4f}")


def sample_split(options: EvalOptions) -> tuple[tuple, float]:
    """What `ScoreSample.parts` gives of the split, and the temperature that the snapshot has already."""
    process = Process(0, 1, choose_device(options.device))
    model, split = load_with_split(options, process)
    indices = choose_part(options, split)
    loader = shared_loader(EvaluationDataset(split, model.transform), indices, options, process)
    get_logger().info(f"{split.dataset} {split.split}, {len(indices)} images: {options.describe_protocol()}")
    sample = ScoreSample(len(indices))
    for batch in Progress(loader, "calibrate", True):
        for index, scores, label in zip(batch["index"].tolist(), model.predict(batch), batch["label"], strict=True):
            sample.add(index, scores, label, options.merge)
    return sample.parts(), model.predict.temperature


def write(path: Path, snapshot: dict, temperature: float, source: str) -> None:
    """Write the snapshot with its temperature; as safetensors without what only a resumed run needs."""
    content = {**snapshot, "temperature": temperature}
    content.pop("plain_sha256", None)
    if path.suffix == ".pth":
        save_snapshot(path, content)
        return
    content = {key: value for key, value in content.items() if key != "training"}
    content["model"] = {name: tensor.contiguous() for name, tensor in find_weights(snapshot, source).items()}
    write_atomically(path, lambda file: write_safetensors(content, file))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
