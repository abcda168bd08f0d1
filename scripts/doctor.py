"""Look at a data set, and at the run that you plan on it, before you train.

Usage: python scripts/doctor.py --dataset D --data_root DIR [--json FILE] [any option of train.py]

Put the options of your train.py command behind it: crop, batch, model and sampling are judged as that run would use
them. A sample of the files is read, in under a minute; --full reads all. Exit code 3: the data can't be trained on.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from config import TrainConfig, parse_train
from datasets.checks.findings import Finding
from datasets.checks.manifest import DEFAULT_NAME, verify_manifest, write_manifest
from engine.training.load import like_snapshot
from network.options import DEFAULT_ARCH
from scripts.doctor_checks.data import check_crops, check_duplicates, check_files, check_labels, check_layout
from scripts.doctor_checks.machine import check_disk, check_memory
from scripts.doctor_checks.rehearsal import check_rehearsal
from scripts.doctor_checks.report import as_data, exit_code, show, summary
from scripts.doctor_checks.snapshot import check_snapshot
from scripts.doctor_checks.visit import Visit
from utils.cli import as_fault, run_main
from utils.errors import CheckpointError, OptionError
from utils.files import write_json
from utils.logging import setup_logging
from utils.options import Parser, finite

SAMPLE_SECONDS = 15
Check = Callable[[Visit], Iterator[Finding]]


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, TrainConfig]:
    """The doctor's own options, and the run's. Raises `OptionError`."""
    parser = Parser(prog="doctor.py", description=__doc__, epilog="All options of train.py are accepted as well.")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the findings and all figures to this file")
    parser.add_argument("--full", action="store_true", help="read every file, with a bar, however long it takes")
    parser.add_argument("--sample", metavar="N", type=int, default=64, help="samples of each split that are read")
    parser.add_argument("--no-rehearsal", "--no_rehearsal", action="store_true", help="leave out the run in miniature")
    parser.add_argument("--gpu_memory", metavar="GIB", type=finite, help="plan for a GPU of this size")
    parser.add_argument(
        "--manifest", choices=("write", "verify"), help="only this: write sizes and SHA-256 of all files, or compare"
    )
    parser.add_argument("--manifest_file", metavar="FILE", type=Path, help=f"default: <data_root>/{DEFAULT_NAME}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    own, rest = parser.parse_known_args(argv)
    if own.sample < 1:
        raise OptionError(f"--sample {own.sample}: must be at least 1")
    if own.gpu_memory is not None and not own.gpu_memory > 0:
        raise OptionError(f"--gpu_memory {own.gpu_memory}: must be positive, in GiB")
    config = parse_train(rest)
    return own, _named_model(config)


def _named_model(config: TrainConfig) -> TrainConfig:
    """The model that train.py would build: as --arch says, --snapshot, or by default."""
    try:
        config = like_snapshot(config)
    except (CheckpointError, OptionError):  # the check of the snapshot reports it
        pass
    return replace(config, model=replace(config.model, arch=config.model.arch or DEFAULT_ARCH))


def run(argv: Sequence[str]) -> int:
    """Parse, check, report; returns the exit code."""
    own, config = parse(argv)
    root = config.data.root
    if own.manifest:
        return handle_manifest(own.manifest, root, own.manifest_file or root / DEFAULT_NAME)
    setup_logging(False)
    started = time.monotonic()
    visit = Visit(config, root, own.full, config.compute.seed, own.gpu_memory)
    print(f"{config.data.dataset} at {root}, for {config.model.arch}\n")
    sections = {}
    for title, check in checks(own).items():
        sections[title] = []
        for finding in guarded(check, visit, own.debug):
            if not sections[title]:
                print(title)
            show(finding, root)
            sys.stdout.flush()
            sections[title].append(finding)
        if not visit.splits:  # nothing to look at
            break
    every = [finding for findings in sections.values() for finding in findings]
    seconds = time.monotonic() - started
    print(f"\n{summary(every, seconds)}")
    if own.json:
        write_json(own.json, as_data(visit, sections, seconds))
    return exit_code(every)


def guarded(check: Check, visit: Visit, debug: bool) -> Iterator[Finding]:
    """The findings of a check, whose own failure is one too, so that the next checks are made."""
    try:
        yield from check(visit)
    except Exception as error:  # whatever damaged data may lead to
        fault = as_fault(error)
        if debug:
            traceback.print_exc()
        reason = str(fault or f"internal: {type(error).__name__}: {error}; --debug shows where")
        yield Finding("error", "this check can't be made", (reason,), exit_code=fault.exit_code if fault else 1)


def checks(own: argparse.Namespace) -> dict[str, Check]:
    """The checks by title, in their order: each may use what earlier ones found."""
    listed = {
        "Layout": check_layout,
        "Files": lambda visit: check_files(visit, own.sample, SAMPLE_SECONDS),
        "Labels": check_labels,
        "Training and validation apart": check_duplicates,
        "Crop and sampling": check_crops,
        "Snapshot": check_snapshot,
        "Memory": check_memory,
        "Disk": check_disk,
        "Rehearsal": check_rehearsal,
    }
    return {title: check for title, check in listed.items() if not (own.no_rehearsal and check is check_rehearsal)}


def handle_manifest(action: str, root: Path, path: Path) -> int:
    """Write or verify a manifest; returns the exit code."""
    if action == "write":
        print(f"{path}: sizes and SHA-256 of {write_manifest(root, path, progress=True)} files")
        return 0
    found = verify_manifest(root, path, progress=True)
    for kind in ("changed", "missing", "extra"):
        for name in getattr(found, kind):
            print(f"{kind:<8} {name.encode('utf-8', 'replace').decode()}")
    good = found.checked - len(found.changed) - len(found.missing)
    print(f"{path}: {good} of {found.checked} files are as written, {len(found.extra)} are not in it")
    return 3 if found else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
