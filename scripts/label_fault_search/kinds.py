"""What kind of fault it is: of the whole label, or of a region."""

from collections.abc import Sequence

import numpy as np

from scripts.label_fault_search.alignment import Alignment, fit_of_others
from scripts.label_fault_search.regions import Region

SHIFT, SWAP, MISSING, WRONG_IMAGE, OTHER = KINDS = ("shift", "swap", "missing", "wrong_image", "other")

# Set once, then tried on faults planted into CamVid (docs/label-faults.md)
GAIN = 0.04  # in agreement, by which a label has to fit better elsewhere
MENDED = 0.3  # of what doesn't fit, that has to fit there
AS_GOOD = 0.1  # of the other images that a label fits as well as its own: then it is no label of this one
MOST_OF = 0.7  # of a labelled or predicted piece, that a region has to be to be all of it


class KindFinder:
    """Tells faults apart by how labels fit their own and other images.

    Args:
        alignments: Of all images of the split.
        classes: C.
    """

    def __init__(self, alignments: Sequence[Alignment], classes: int) -> None:
        self.classes, self.alignments = classes, alignments
        self.predicted = np.stack([alignment.predicted_grid for alignment in alignments])
        self.usual = float(np.median([alignment.agreement for alignment in alignments]))

    def find(self, index: int, worst: Region | None) -> tuple[str, int | None]:
        """Kind of the fault of image `index`, whose `worst` region is given; and, of `wrong_image`, whose it may be."""
        alignment = self.alignments[index]
        fits = fit_of_others(alignment.label_grid, self.predicted, self.classes)
        own, fits[index] = fits[index], -1
        likely, shifted = int(fits.argmax()), _is_shifted(alignment)
        if fits[likely] > own + GAIN and not (shifted and alignment.moved > fits[likely] - GAIN):
            poor = alignment.agreement < self.usual - GAIN and (fits >= own).mean() > AS_GOOD
            if poor or fits[likely] > own + 3 * GAIN:
                return WRONG_IMAGE, likely
        if shifted:
            return SHIFT, None
        return (_kind_of_region(worst) if worst else OTHER), None


def _is_shifted(alignment: Alignment) -> bool:
    gain = alignment.moved - alignment.agreement
    return gain > GAIN and gain > MENDED * (1 - alignment.agreement)


def _kind_of_region(region: Region) -> str:
    """`swap`: all of a labelled piece is another class; `missing`: all of a predicted piece lies in a larger one."""
    if region.of_label >= MOST_OF:
        return SWAP
    return MISSING if region.of_object >= MOST_OF else OTHER
