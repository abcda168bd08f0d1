"""The rules of sizes: crop, scales, tile, and how large images are seen, from the data. Nothing is measured here.

"Measured" in a reason means docs/camvid.md; what no page measured says so.
"""

from dataclasses import dataclass

from scripts.configuring.choices import Choice
from scripts.configuring.facts import DataFacts
from scripts.configuring.machine import Machine

STEP = 32  # pixels: sides are multiples of the encoders' last stride
# pixels, of an image's short side as it is seen
LEAST_SHORT, MOST_SHORT = 128, {"cpu": 576, "cuda": 1024}
ENLARGED = (1.6, 4 / 3, 1.0)
THIN, WIDE, UNEVEN = 8.0, 0.5, 1.3  # pixels, fraction of the short side, ratio of short sides
SCALE_MIN, SCALE_MAX, SCALE_MAX_WIDE = 0.75, 2.0, 1.5


@dataclass(frozen=True)
class View:
    """How large images are seen.

    Attributes:
        short: Their short side in training, before random scales, pixels.
        enlarged: The factor of inference over that.
    """

    short: int
    enlarged: float


def first_view(facts: DataFacts, machine: Machine) -> View:
    """The images as they are, if they are neither too large for the device nor too small for the model's strides."""
    short = max(LEAST_SHORT, min(facts.short, MOST_SHORT[machine.kind]))
    return View(short, enlargement(facts, short / facts.short))


def enlargement(facts: DataFacts, zoom: float) -> float:
    """By how much inference enlarges images, so that they are seen in the middle of the scales of training.

    Measured on CamVid's val, scales of 0.75 to 2: mIoU 72.3 at x1, 76.1 at x1.33, 76.5 at x1.6, poles 13.3, 18.5, 19.4.
    """
    if _is_wide(facts):
        return 1.0
    thin = facts.thinnest is not None and zoom * facts.thinnest.thickness < THIN
    return 1.6 if thin else 4 / 3


def _is_wide(facts: DataFacts) -> bool:
    return facts.smallest is not None and facts.smallest.span > WIDE


def choose_sizes(facts: DataFacts, view: View) -> list[Choice]:
    """Crop, scales, and the size at which images are seen in validation and inference."""
    return [*choose_crop(facts, view), *choose_scales(facts), choose_base_size(facts, view)]


def choose_crop(facts: DataFacts, view: View) -> list[Choice]:
    """Crop, and the size of images before random scales, where it isn't their own."""
    zoom, why = view.short / facts.short, f"nine tenths of the short side, {view.short} pixels: little padding"
    chosen = [Choice("crop_size", crop_of(view), why)]
    if zoom != 1 or facts.spread > UNEVEN:
        why = "less, for the time or the device" if zoom < 1 else "enlarged, for the model's strides"
        why = f"differ by x{facts.spread:.1f}: all are brought to one" if zoom == 1 else f"are {facts.short}: {why}"
        chosen.append(Choice("pre_size", view.short, f"images' short sides {why}"))
    return chosen


def choose_scales(facts: DataFacts) -> list[Choice]:
    """The range of random scales."""
    most, why, small = SCALE_MAX, "small and thin things are seen enlarged, too", facts.smallest
    if _is_wide(facts):
        most = SCALE_MAX_WIDE
        why = f"even the smallest class, {small.name}, spans {small.span:.0%} of the short side: x2 would cut it off"
    least = "below, a crop would be mostly padding"
    return [Choice("scale_min", SCALE_MIN, least), Choice("scale_max", most, why)]


def choose_base_size(facts: DataFacts, view: View) -> Choice:
    """The long side of images in validation."""
    best = enlargement(facts, view.short / facts.short)
    size, better = (inference_size(facts, view.short, by) for by in (view.enlarged, best))
    why = f"long side in inference, x{view.enlarged:.2g}: in the middle of the scales of training"
    if view.enlarged > 1 and facts.thinnest:
        why += f"; the thinnest class, {facts.thinnest.name}, is {facts.thinnest.thickness:.0f} pixels thick"
    if size < better:
        why = f"long side in validation, for the time; eval.py --base_size {better}: in the middle of training's scales"
    return Choice("base_size", size, why)


def inference_size(facts: DataFacts, short: int, enlarged: float) -> int:
    """Long side of images that are seen with this short side, enlarged: a multiple of `STEP` pixels."""
    return max(STEP, round(facts.long * short / facts.short * enlarged / STEP) * STEP)


def crop_of(view: View) -> int:
    """Side of a crop, pixels."""
    return int(0.9 * view.short) // STEP * STEP


def choose_sampling(facts: DataFacts, view: View) -> list[Choice]:
    """Class-uniform sampling."""
    rarest, even = facts.rarest, 1 / len(facts.present)
    if rarest.share >= even / 2 and rarest.labels >= facts.train:
        why = f"off: the rarest class, {rarest.name}, has {rarest.share:.0%} of the pixels and is in every label"
        return [Choice("class_uniform_pct", 0.0, why)]
    tile = max(STEP, round(0.4 * crop_of(view) * facts.short / view.short / STEP) * STEP)
    why = f"the rarest class, {rarest.name}, has {rarest.share:.2%} of the pixels; measured on CamVid: +2.5 points"
    return [
        Choice("class_uniform_pct", 0.5, why),
        Choice("class_uniform_tile", tile, "0.4 crops, as in the CamVid recipe, in pixels of the images"),
    ]
