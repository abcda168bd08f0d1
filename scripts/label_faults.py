"""Find labels that are probably wrong: images and regions, ranked, with the kind of fault.

Usage: python scripts/label_faults.py SNAPSHOT... --data_root DIR --split S --out DIR [--dataset D] [--plant SHARE]

Writes OUT/faults.json (all images, the worst first), OUT/report.html (to look through), and OUT/labelme/ (the regions
of the images on the page as polygons of the predicted class, to correct them by labelme); OUT/score.json is what the
mean IoU is without the most suspicious images, and without as many random ones. A snapshot that was trained
on an image has learnt its label too, right or wrong: with several snapshots, say of the folds of --cv_split, an image
is judged by those that weren't trained on it, as far as the config.json beside each says. Scores are comparable within
one search only.

--plant also plants faults of known kinds into the labels as they are read, and writes to OUT/trial.json how many of
them are found; files stay as they are.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import argparse
from collections.abc import Sequence

from engine.evaluation.score_files import archive_previous
from scripts.label_fault_search.labelme import write_labelme
from scripts.label_fault_search.page import write_faults_page
from scripts.label_fault_search.predictions import Judges, load_judges
from scripts.label_fault_search.results import effect_on_score, entries
from scripts.label_fault_search.search import Search
from scripts.label_fault_search.trial import Trials
from utils.cli import run_main
from utils.devices import FORMS, device_name
from utils.errors import DataError
from utils.files import make_folder, write_json
from utils.logging import Progress, get_logger, setup_logging
from utils.options import Parser, check

MOST = 40  # images on the page
RESULTS = ("faults.json", "score.json", "trial.json", "report.html", "labelme")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="label_faults.py", description=__doc__.splitlines()[0])
    parser.add_argument("snapshots", metavar="SNAPSHOT", type=Path, nargs="+", help="weights, of the same classes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--dataset", help="data set; unset: as the first snapshot says")
    parser.add_argument("--arch", help="model of bare weights, which need --dataset, too")
    parser.add_argument("--data_root", help="its folder; unset: as in eval.py")
    parser.add_argument("--split", default="val", help="split whose labels are searched")
    parser.add_argument("--cv_split", type=int, default=0, help="cross-validation split")
    parser.add_argument("--base_size", type=int, help="long side that images are predicted at; unset: their own")
    parser.add_argument("--device", default="auto", type=device_name, help=f"device: {FORMS}")
    parser.add_argument("--images", type=int, default=MOST, help="images on the page and for labelme")
    parser.add_argument("--plant", type=float, metavar="SHARE", help="plant faults into this share of the labels")
    parser.add_argument("--plant_trials", type=int, default=5, help="how often, each time into other images")
    parser.add_argument("--seed", type=int, default=0, help="of what is planted")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    check(options.images >= 1, "--images", options.images, "must be at least 1")
    check(options.plant is None or 0 < options.plant <= 0.5, "--plant", options.plant, "must be above 0, at most 0.5")
    check(1 <= options.plant_trials <= 100, "--plant_trials", options.plant_trials, "must be from 1 to 100")
    check(options.seed >= 0, "--seed", options.seed, "must not be negative")
    return options


def search(judges: Judges, trials: Trials | None) -> Search:
    """Look at every image of the split once, with its own label and with those of the trials."""
    found = Search(judges.split.classes.num_classes)
    for index in Progress(range(len(judges.split)), "search", True):
        probability, label = judges.judge(index)
        found.add(index, probability, label)
        if trials is not None:
            trials.add(index, probability, found)
    if not found.num_images:
        raise DataError(
            f"--split {judges.split.split}: every pixel of the {len(judges.split)} labels of {judges.split.dataset} is"
            " void, so there is nothing to search; choose a labelled split"
        )
    return found


def run(argv: Sequence[str]) -> None:
    """Parse, search, write."""
    options = parse(argv)
    log = setup_logging(True)
    make_folder(options.out, "--out")
    judges = load_judges(options)
    split, out = judges.split, options.out
    log.info(f"{split.dataset} {split.split}, {len(split)} images: {judges.describe()}")
    trials = None
    if options.plant:
        trials = Trials.plan(judges, options.plant, options.plant_trials, options.seed)
    found = search(judges, trials)
    if moved := archive_previous(out, RESULTS):
        log.info(f"results of an earlier search moved to {moved[0].parent}")
    faults = found.faults()
    effect = effect_on_score(found, faults)
    write_json(out / "faults.json", entries(faults, judges))
    write_json(out / "score.json", effect)
    shown = [fault for fault in faults[: options.images] if fault.regions]
    write_labelme(out / "labelme", shown, judges)
    trial = trials.score() if trials else None
    if trial and not trial["planted"]:
        log.warning("--plant: no fault could be planted into the images that were chosen; give a greater share")
        trial = None
    if trial:
        write_json(out / "trial.json", trial | {"share": options.plant, "seed": options.seed})
    write_faults_page(out / "report.html", shown, judges, effect, trial)
    report(faults, judges, out)


def report(faults: Sequence, judges: Judges, out: Path) -> None:
    """The first images, and where the rest is."""
    log, names = get_logger(), judges.split.names
    if len(faults) == 1:
        log.warning("a single labelled image: there are no others to compare it with")
    for fault in faults[:10]:
        log.info(f"{fault.score:8.1f}  {fault.kind:<12} {names[fault.index]}")
    log.info(f"{len(faults)} images ranked in {out / 'faults.json'}; to look through: {out / 'report.html'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
