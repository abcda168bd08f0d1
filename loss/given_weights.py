"""`--class_weights`: text -> a weight for each class."""

import math
from collections.abc import Sequence

import numpy as np

from utils.errors import OptionError

FLAG, BALANCED = "--class_weights", "balanced"


def parse_class_weights(text: str) -> dict[str, float] | tuple[float, ...]:
    """'road=0.5,car=2' -> {"road": 0.5, "car": 2.0}; '1,2,0.5' -> (1.0, 2.0, 0.5); '' and 'balanced' -> nothing yet.

    Raises:
        OptionError: A weight that isn't a number of at least 0, or both forms at once.
    """
    if text in ("", BALANCED):
        return ()
    pairs = [part.strip().rpartition("=") for part in text.split(",") if part.strip()]
    named = {name.strip(): _weight(text, value) for name, equals, value in pairs if equals}
    if not named:
        return tuple(_weight(text, value) for _, _, value in pairs)
    if len(named) < len(pairs):
        raise OptionError(f"{FLAG} {text}: give each class once, as name=weight, or a number for each class")
    return named


def class_weights(
    text: str, names: Sequence[str], pixels: np.ndarray | None = None, around: np.ndarray | None = None
) -> tuple[float, ...] | None:
    """A weight for each of the classes `names`; None: all count alike. One without a name in `text` has 1.

    Args:
        text: Of the option.
        names: Of the classes, by train id.
        pixels: int64 (C,), of each class in the training labels; None: unknown yet, and `balanced` gives None.
        around: int64 (C,), labelled pixels of the images that hold the class.

    Raises:
        OptionError: A class that isn't there, a number of weights that isn't that of the classes, or no weight above 0.
    """
    if text == BALANCED:
        return None if pixels is None else balance(pixels, around)
    given = parse_class_weights(text)
    if not given:
        return None
    known = f"the {len(names)} classes are {', '.join(names)}"
    if isinstance(given, tuple):
        if len(given) != len(names):
            raise OptionError(f"{FLAG} {text}: {len(given)} weights; {known}")
    else:
        for name in given.keys() - set(names):
            raise OptionError(f"{FLAG} {name}={given[name]:g}: there is no such class; {known}")
        given = tuple(given.get(name, 1.0) for name in names)
    if not any(given):
        raise OptionError(f"{FLAG} {text}: all weights are 0, nothing would be learnt; give one above 0")
    return given


def balance(pixels: np.ndarray, around: np.ndarray) -> tuple[float, ...]:
    """Median frequency balancing: median(f) / f_c, with f_c the class's share of the labelled pixels of its images.

    A class without a pixel has weight 1 and isn't in the median.

    Source:
        Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale Convolutional
        Architecture, ICCV 2015, section 4.3
    """
    present = pixels > 0
    frequency = pixels[present] / around[present]
    weights = np.ones(len(pixels))
    if present.any():
        weights[present] = np.median(frequency) / frequency
    return tuple(weights.tolist())


def _weight(text: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        rule = "is no number of 0 or more; give balanced, a number for each class, or name=weight,..."
        raise OptionError(f"{FLAG} {text}: {value.strip()!r} {rule}")
    return weight
