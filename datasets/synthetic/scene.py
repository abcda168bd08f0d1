"""Street scenes drawn from a seed: what stands where."""

import numpy as np

from datasets.cityscapes import CLASSES
from datasets.synthetic.canvas import EGO, Camera, Canvas, disc
from datasets.synthetic.colors import draw_color, draw_mood
from datasets.synthetic.facades import draw_background, draw_border
from datasets.synthetic.finish import cloud_field, finish
from datasets.synthetic.ground import draw_ground, draw_side, draw_sky
from datasets.synthetic.traffic import Traffic
from utils.constants import IGNORE_LABEL

DRAWING_VERSION = 1  # raise it with every change of what any scene looks like

_THING_SPAN = 1000  # Cityscapes: instance id = label id * 1000 + k


def draw_scene(seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scene number `index` of the stream `seed`; the same on every machine, and the same scene at every size.

    Args:
        seed: Not negative.
        index: Not negative.
        height: Pixels.
        width: Pixels.

    Returns:
        image: (H,W,3) uint8 RGB.
        train_ids: (H,W) uint8, 0..18 or 255.
        instance_ids: (H,W) uint16; label id * 1000 + k for things, the label id for everything else.
    """
    layout, grain = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed, spawn_key=(index,)).spawn(2)
    )
    mood = draw_mood(layout)
    camera = Camera(
        height,
        width,
        focal=layout.uniform(0.72, 0.85) * min(width, 2 * height),
        horizon=layout.uniform(0.36, 0.46) * height,
        eye=layout.uniform(1.7, 2.3),
        drift=width / 2 + layout.uniform(-0.15, 0.15) * min(width, 2 * height),
    )
    canvas = Canvas(camera, mood.haze, mood.visibility)
    sides = draw_side(layout, -1), draw_side(layout, 1)
    draw_sky(canvas, mood, cloud_field(grain, height, width))
    draw_background(canvas, layout)
    draw_ground(canvas, layout, sides, mood)
    for side in sides:
        draw_border(canvas, layout, side)
    Traffic(canvas, layout, sides, mood).draw()
    if layout.random() < 0.25:
        _bonnet(canvas, layout)
    train_ids = instance_to_train(canvas.ids)
    return finish(canvas.image, train_ids, mood, grain), train_ids, canvas.ids


def instance_to_label(instance_ids: np.ndarray) -> np.ndarray:
    """Instance ids (H,W) uint16 -> original label ids (H,W) uint8."""
    return np.where(instance_ids < _THING_SPAN, instance_ids, instance_ids // _THING_SPAN).astype(np.uint8)


def instance_to_train(instance_ids: np.ndarray) -> np.ndarray:
    """Instance ids (H,W) uint16 -> train ids (H,W) uint8."""
    return _TRAIN_TABLE[instance_to_label(instance_ids)]


_TRAIN_TABLE = np.full(256, IGNORE_LABEL, np.uint8)
_TRAIN_TABLE[list(CLASSES.id_to_train)] = list(CLASSES.id_to_train.values())


def _bonnet(canvas: Canvas, rng: np.random.Generator) -> None:
    """The own car's bonnet at the lower edge; ignored."""
    height, width = canvas.camera.height, canvas.camera.width
    rise, color = rng.uniform(0.05, 0.12), draw_color(rng)
    canvas.fill(disc(0, 0, 1, 40) * (width * 0.55, height * rise) + (width / 2, height), color, EGO)
