"""How well planted faults are found: precision and recall by kind."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scripts.label_fault_search.kinds import MISSING, SHIFT, SWAP, WRONG_IMAGE
from scripts.label_fault_search.planting import Planted, Planter
from scripts.label_fault_search.predictions import Judges
from scripts.label_fault_search.regions import Box, Region
from scripts.label_fault_search.search import Fault, Search
from utils.constants import IGNORE_LABEL
from utils.metrics.confusion import confusion_matrix

PLANTED = (SHIFT, WRONG_IMAGE, SWAP, MISSING)
TOP_REGIONS = 3
SAMPLE = 32  # images that say which classes are confused
_Z = 1.959964  # 95 %


class Trials:
    """Searches in labels of which some are faulty, beside the search in the labels as they are.

    Args:
        planter: Makes the faults.
        plans: Of each trial, index -> kind of the fault that is planted there.
        seed: Of the faults.
    """

    def __init__(self, planter: Planter, plans: Sequence[Mapping[int, str]], seed: int) -> None:
        self.planter, self.plans, self.seed = planter, plans, seed
        self.planted: list[dict[int, Planted]] = [{} for _ in plans]
        self.searches = [Search(planter.classes) for _ in plans]

    @classmethod
    def plan(cls, judges: Judges, share: float, trials: int, seed: int) -> "Trials":
        """Choose the images: `share` of the split in each trial, a quarter of them for each kind."""
        split, classes = judges.split, judges.split.classes.num_classes
        count = len(split)
        matrix = np.zeros((classes, classes), np.int64)
        for index in np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(int).tolist():
            probability, label = judges.judge(index)
            matrix += confusion_matrix(probability.argmax(0).astype(np.uint8), label, classes, IGNORE_LABEL)
        np.fill_diagonal(matrix, 0)
        wanted = max(1, round(share * count))
        plans = []
        for number in range(trials):
            chosen = np.random.default_rng([seed, number]).permutation(count)[:wanted]
            plans.append({int(index): PLANTED[i % len(PLANTED)] for i, index in enumerate(chosen)})
        return cls(Planter(split.load_label, count, classes, matrix.argmax(1)), plans, seed)

    def add(self, index: int, probability: np.ndarray, own: Search) -> None:
        """Look at an image with the label of each trial; where that is its own, `own` has looked already."""
        for number, (plan, search, planted) in enumerate(zip(self.plans, self.searches, self.planted, strict=True)):
            made = None
            if index in plan:
                made = self.planter.make(plan[index], index, np.random.default_rng([self.seed, number, index]))
            if made is None:
                search.take(own, index)
            else:
                planted[index], label = made
                search.add(index, probability, label)

    def score(self) -> dict:
        """What `score_trials` gives."""
        return score_trials(list(zip(self.planted, (search.faults() for search in self.searches), strict=True)))


def score_trials(trials: Sequence[tuple[Mapping[int, Planted], Sequence[Fault]]]) -> dict:
    """Scores over trials: each the planted faults by image, and what was found, the worst first.

    As many images are flagged as were planted. Whatever else is wrong in the data counts as a false alarm.

    Returns:
        `planted`, `precision` (flagged images that were planted) and per kind `planted`, `recall` (those that were
        flagged), `located` (planted regions that one of the first regions meets, of those flagged; of whole labels
        None), `named` (flagged ones whose kind was told). A rate is a dict of `value`, `interval` (Wilson, 95 %).
    """
    flagged = [
        (planted, {fault.index: fault for fault in found[: len(planted)]}) for planted, found in trials if planted
    ]
    total = sum(len(planted) for planted, _ in flagged)
    hits = sum(len(planted.keys() & chosen.keys()) for planted, chosen in flagged)
    rows = {}
    for kind in PLANTED:
        pairs = [
            (fault, chosen.get(index))
            for planted, chosen in flagged
            for index, fault in planted.items()
            if fault.kind == kind
        ]
        found = [(fault, guess) for fault, guess in pairs if guess]
        located = [_meets(fault.box, guess.regions) for fault, guess in found if fault.box is not None]
        rows[kind] = {
            "planted": len(pairs),
            "recall": rate(len(found), len(pairs)),
            "named": rate(sum(fault.kind == guess.kind for fault, guess in found), len(found)),
            "located": rate(sum(located), len(located)),
        }
    return {"planted": total, "precision": rate(hits, total), "kinds": rows, "trials": len(flagged)}


def rate(hits: int, of: int) -> dict | None:
    """A share and Wilson's 95 % interval; None of nothing.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if not of:
        return None
    p, z = hits / of, _Z
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return {"value": p, "interval": [max(0.0, middle - half), min(1.0, middle + half)], "of": of}


def _meets(planted: Box, regions: Sequence[tuple[float, Region]]) -> bool:
    """True if the box of one of the first regions overlaps the planted one by half of the smaller of the two."""
    x, y, w, h = planted
    for _, region in regions[:TOP_REGIONS]:
        left, top, width, height = region.box
        across = min(x + w, left + width) - max(x, left)
        down = min(y + h, top + height) - max(y, top)
        if min(across, down) > 0 and across * down >= 0.5 * min(w * h, width * height):
            return True
    return False
