"""`benchmark.py data`: CPU time of a training sample of the Cityscapes recipe, by one thread.

Arms: `plain` (reference/transforms.py), `exact` (from PNG; what users get by default), `cache` (from a pixel cache) and
`device` (the same cache, the window only: what `--augment device` leaves to the CPU, with the copy into the batch; the
augmentation itself is `device_seconds`, wall time a sample). All arms of a round make the same samples, half of them
centred on a class, from drawn scenes with a little blur, so that a PNG of 1024x2048 takes 2.4 MB as Cityscapes' do.

`median` and `spread` are CPU seconds a sample. The gate compares each arm's samples with plain's: `levels_off` is the
share of values more than 2 of 255 levels away, `labels_off` that of other labels; `max_error` is the largest of them.
The roofline of `plain` and `exact` is `decoding`: CPU seconds that decoding a sample's two PNGs takes alone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from PIL import Image

from datasets.base import FileItem, FileSplit
from datasets.cache import open_cache
from datasets.cityscapes import CLASSES
from datasets.dataset import TrainingDataset, sample_rng
from datasets.loader import collate
from datasets.png import decode_png, pyspng
from datasets.sampling.class_uniform import CropSample, tile_centroids
from datasets.synthetic.scene import draw_scene, instance_to_label
from reference.transforms import augment_plain, load_plain
from scripts.benchmarks.timing import spread
from transforms import AugmentOptions, CropWindow, DeviceAugment, RandomAugment, TrainTransform
from utils.constants import IMAGENET_STD
from utils.errors import NumericsError
from utils.machine import keep_freed_memory

SCENES, SHARPNESS = 4, 0.7  # sigma, pixels, of the blur that a camera's optics would make
Arm = Callable[[CropSample], dict]


def measure_data(options: argparse.Namespace, device: torch.device) -> dict:
    """Draw scenes, check the arms, time them."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        split = write_scenes(Path(folder), *options.size)
        arms, finish = build_arms(split, options.size[0], Path(folder), device)
        errors = check(arms, finish, draws_of(split, 0))
        rows = time_arms(arms, split, options.rounds, options.warmup)
        rows["device"]["device_seconds"] = time_device(arms["device"], finish, draws_of(split, 0), device)
        decoding = time_decoding(split, options.rounds)
        png_bytes = statistics.mean(item.image.stat().st_size for item in split.items)
    tolerance = 1e-4 if options.tolerance is None else options.tolerance
    worst = max(max(row["levels_off"], row["labels_off"]) for row in errors.values())
    if worst > tolerance:
        raise NumericsError(f"data: samples differ from the plain pipeline's: {errors}, over {tolerance}")
    for row in rows.values():
        row["ratio"] = rows["plain"]["median"] / row["median"]
    for name in ("plain", "exact"):  # the others read no PNG
        rows[name]["roofline_share"] = decoding / rows[name]["median"]
    return {
        "ratio": rows["exact"]["ratio"],
        "max_error": worst,
        "arms": {name: row | errors.get(name, {}) for name, row in rows.items()},
        "sizes": {"size": list(options.size), "crop": options.size[0], "png_bytes": round(png_bytes)},
        "roofline": {"decoding": decoding},
        "png_decoder": "opencv" if pyspng is None else "pyspng",
    }


def write_scenes(folder: Path, height: int, width: int) -> FileSplit:
    """A split of drawn scenes as PNG files."""
    items = []
    for index in range(SCENES):
        image, _, instances = draw_scene(0, index, height, width)
        item = FileItem(f"{index}", folder / f"{index}.png", folder / f"{index}_label.png")
        Image.fromarray(cv2.GaussianBlur(image, (0, 0), SHARPNESS)).save(item.image)
        Image.fromarray(instance_to_label(instances)).save(item.label)
        items.append(item)
    return FileSplit("cityscapes", "train", CLASSES, items)


def build_arms(split: FileSplit, crop: int, folder: Path, device: torch.device) -> tuple[dict[str, Arm], Arm]:
    """Each arm makes a sample of a draw; the function beside them makes the device's into what the others are."""
    choices, cache = RandomAugment(AugmentOptions(crop_size=crop)), open_cache(split, "disk", folder)
    exact = TrainingDataset(split, TrainTransform(choices), 0)
    cached = TrainingDataset(split, TrainTransform(choices), 0, cache)
    windows = TrainingDataset(split, CropWindow(choices), 0, cache)
    augment = DeviceAugment(device)

    def plain(draw: CropSample) -> dict:
        item = split.items[draw.image]
        sample = load_plain(item.image, item.label, CLASSES.id_to_train)
        rng = sample_rng(0, draw.epoch, draw.index)
        return augment_plain(sample, choices.sample(sample["label"].shape, draw.centroid, rng))

    def finish(batch: dict) -> dict:
        return {name: value[0].cpu() for name, value in augment(batch).items() if name != "name"}

    arms = {
        "plain": plain,
        "exact": exact.__getitem__,
        "cache": cached.__getitem__,
        "device": lambda draw: collate([windows[draw]]),
    }
    return arms, finish


def draws_of(split: FileSplit, epoch: int) -> list[CropSample]:
    """Two draws of each image, one of them centred on a class."""
    draws = []
    for image in range(len(split)):
        found = tile_centroids(split.load_label(image), 1024)
        class_id, x, y = found[epoch % len(found)]
        draws.append(CropSample(image, None, None, epoch, 2 * image))
        draws.append(CropSample(image, (x, y), class_id, epoch, 2 * image + 1))
    return draws


def check(arms: dict[str, Arm], finish: Arm, draws: list[CropSample]) -> dict[str, dict]:
    """Shares of values and labels, over all draws, that are not plain's, and the largest difference in levels."""
    scale = 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)
    errors = {name: {"levels_off": [], "labels_off": [], "max_levels": []} for name in arms if name != "plain"}
    for draw in draws:
        expected = arms["plain"](draw)
        for name, row in errors.items():
            sample = arms[name](draw)
            sample = finish(sample) if name == "device" else sample
            levels = ((sample["image"] - expected["image"]) * scale).abs()
            near = levels <= 2.01  # 2 and the rounding of float32; NaN isn't
            row["levels_off"].append(float((~near).double().mean()))
            row["labels_off"].append(float((sample["label"] != expected["label"]).double().mean()))
            row["max_levels"].append(float(levels.max()))
    return {
        name: {key: max(values) if key == "max_levels" else statistics.mean(values) for key, values in row.items()}
        for name, row in errors.items()
    }


def time_arms(arms: dict[str, Arm], split: FileSplit, rounds: int, warmup: int) -> dict[str, dict]:
    """CPU seconds a sample, in alternating rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(warmup + rounds):
        draws = draws_of(split, turn)
        for name, arm in arms.items():
            keep_freed_memory(name != "plain")  # plain has malloc as it comes, as in scripts/benchmark.py
            arm(draws[0])
            start = time.process_time()
            for draw in draws:
                arm(draw)
            if turn >= warmup:
                seconds[name].append((time.process_time() - start) / len(draws))
    rows = {}
    for name, values in seconds.items():
        rows[name] = {"median": statistics.median(values), "spread": spread(values)}
    return rows


def time_decoding(split: FileSplit, rounds: int) -> float:
    """CPU seconds, a median, that the image and the label of a sample take to decode."""
    files = [
        (path, path.read_bytes(), mode)
        for item in split.items
        for path, mode in ((item.image, cv2.IMREAD_COLOR), (item.label, cv2.IMREAD_UNCHANGED))
    ]
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        for path, data, mode in files:
            decode_png(data, path, mode)
        seconds.append((time.process_time() - start) / len(split))
    return statistics.median(seconds)


def time_device(arm: Arm, finish: Arm, draws: list[CropSample], device: torch.device) -> float:
    """Wall seconds a sample of the augmentation on the device and the way back of its result."""
    batches = [arm(draw) for draw in draws]
    finish(batches[0])
    start = time.perf_counter()
    for batch in batches:
        finish(batch)
    return (time.perf_counter() - start) / len(batches)
