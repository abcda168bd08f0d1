"""What is written of a search."""

from collections.abc import Sequence

import numpy as np

from scripts.label_fault_search.predictions import Judges
from scripts.label_fault_search.search import Fault, Search
from utils.metrics.confusion import compute_metrics

SHARES = (0.01, 0.02, 0.05)  # of the images that are left out
DRAWS = 200  # of as many random images
MOST_REGIONS = 10  # of an image that are listed


def entries(faults: Sequence[Fault], judges: Judges) -> list[dict]:
    """`faults.json`: an entry an image, the worst first."""
    names, classes = judges.split.names, judges.split.classes.names
    rows = []
    for fault in faults:
        row = {"name": names[fault.index], "score": round(fault.score, 3), "kind": fault.kind}
        if fault.offset is not None:
            row["move_by"] = list(fault.offset)
        if fault.like is not None:
            row["like"] = names[fault.like]
        row["trained_on"] = judges.seen(fault.index)
        row["regions"] = [
            dict(zip(("x", "y", "width", "height"), region.box, strict=True))
            | {"label": classes[region.label], "predicted": classes[region.predicted], "score": round(score, 3)}
            for score, region in fault.regions[:MOST_REGIONS]
        ]
        rows.append(row)
    return rows


def effect_on_score(search: Search, faults: Sequence[Fault], seed: int = 0) -> list[dict]:
    """Mean IoU without the n most suspicious images beside that without n random ones.

    That labels disagree with a model is why they are suspicious, so leaving them out raises its score, faulty or not.

    Returns:
        For each share of the images: `left_out` (n), `mean_iou` of all, `without_flagged`, and `without_random`, of
        which `interval` holds 95 % of the draws. Nothing where there are too few images.
    """
    stack = np.stack([search.matrix(fault.index) for fault in faults])  # in the order of suspicion
    total, rng = stack.sum(0), np.random.default_rng(seed)
    rows = []
    for count in sorted({max(1, round(share * len(faults))) for share in SHARES}):
        if count >= len(faults):
            continue
        draws = [rng.choice(len(faults), count, replace=False) for _ in range(DRAWS)]
        random = [_mean_iou(total - stack[drawn].sum(0)) for drawn in draws]
        low, high = np.quantile(random, (0.025, 0.975)).tolist()
        flagged = _mean_iou(total - stack[:count].sum(0))
        rows.append(
            {
                "left_out": count,
                "mean_iou": _mean_iou(total),
                "without_flagged": flagged,
                "without_random": float(np.mean(random)),
                "interval": [low, high],
            }
        )
    return rows


def _mean_iou(matrix: np.ndarray) -> float | None:
    return compute_metrics(matrix, list(map(str, range(len(matrix)))))["mean_iou"]
