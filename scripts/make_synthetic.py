"""Write synthetic street scenes as a tree of files in the layout of Cityscapes."""

import sys
from pathlib import Path

if __name__ == "__main__":  # from anywhere, without installation, and before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.machine import limit_spinning

    limit_spinning()

import io
from argparse import Namespace
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from PIL import Image

from datasets.synthetic.scene import draw_scene, instance_to_label
from datasets.synthetic.split import MIN_SIZE, SPLITS, stream
from utils.cli import run_main
from utils.errors import OptionError
from utils.files import make_folder, write_atomically
from utils.options import Parser

CITIES = {
    "train": ("ahornstadt", "birkenau", "eichfurt"),
    "val": ("lindenhafen", "ulmingen"),
    "test": ("tannwald", "weidenbruck"),
}


def parse(argv: Sequence[str]) -> Namespace:
    """Checked options. Raises `OptionError`."""
    parser = Parser(prog="make_synthetic.py", description=__doc__)
    parser.add_argument("out", metavar="OUT", type=Path, help="folder that is new or empty")
    for split, count in zip(SPLITS, (16, 4, 4), strict=True):
        parser.add_argument(f"--{split}", metavar="N", type=int, default=count, help=f"scenes of the {split} split")
    parser.add_argument("--height", type=int, default=1024, help="pixels")
    parser.add_argument("--width", type=int, default=2048, help="pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other scenes")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    least = {"train": 0, "val": 0, "test": 0, "height": MIN_SIZE, "width": MIN_SIZE, "seed": 0, "workers": 1}
    for name, low in least.items():
        if getattr(options, name) < low:
            raise OptionError(f"--{name} {getattr(options, name)}: must be {low} or more")
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise OptionError(f"{options.out}: not an empty folder; name a new one for OUT, or remove what is in it")
    return options


def write_scene(options: Namespace, split: str, index: int) -> str:
    """Draw one scene and write its three files; returns its name.

    Raises:
        EnvironmentFault: A file can't be written.
    """
    image, _, instance_ids = draw_scene(stream(split, options.seed), index, options.height, options.width)
    city = CITIES[split][index % len(CITIES[split])]
    name = f"{city}_{index:06d}_000019"
    labels = options.out / "gtFine" / split / city
    _save(options.out / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
    _save(labels / f"{name}_gtFine_labelIds.png", instance_to_label(instance_ids))
    _save(labels / f"{name}_gtFine_instanceIds.png", instance_ids)
    return name


def _save(path: Path, picture: np.ndarray) -> None:
    """(H,W,3) uint8, (H,W) uint8 or (H,W) uint16 -> PNG, complete or absent."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=3)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def run(argv: Sequence[str]) -> None:
    """Write the whole tree, with a line of progress for every scene."""
    options = parse(argv)
    make_folder(options.out, "OUT")
    jobs = [(split, index) for split in SPLITS for index in range(getattr(options, split))]
    write = partial(write_scene, options)
    splits, indices = [split for split, _ in jobs], [index for _, index in jobs]
    workers = min(options.workers, len(jobs))
    if workers <= 1:
        _report(map(write, splits, indices), len(jobs))
    else:
        with ProcessPoolExecutor(workers) as pool:
            _report(pool.map(write, splits, indices), len(jobs))
    print(f"{len(jobs)} scenes of {options.height}x{options.width} written to {options.out}")


def _report(names: Iterable[str], total: int) -> None:
    for done, name in enumerate(names, 1):
        print(f"[{done}/{total}] {name}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; 2 where the options are wrong or OUT isn't empty."""
    return run_main(run, argv)


if __name__ == "__main__":
    sys.exit(main())
