"""How images and masks of one sample are named: a pattern each, and the patterns that would pair what doesn't."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path, PurePosixPath

from datasets.layout import list_files

STARTS, COMPARED = 3, 200  # files that a suggestion is made from
SEPARATORS = "_-. "


@dataclass(frozen=True)
class NamePattern:
    """A file name without suffix: what stands before and behind the sample's name; written `*_mask`."""

    head: str = ""
    tail: str = ""

    @classmethod
    def parse(cls, text: str) -> "NamePattern":
        """`text` holds one `*`."""
        return cls(*text.split("*"))

    def __str__(self) -> str:
        return f"{self.head}*{self.tail}"

    @property
    def is_plain(self) -> bool:
        """True for `*`."""
        return str(self) == "*"

    def file(self, name: str) -> str:
        """The sample's file, without suffix; the folders of a name stay."""
        folder, slash, base = name.rpartition("/")
        return f"{folder}{slash}{self.head}{base}{self.tail}"

    def sample(self, file: str) -> str | None:
        """The sample's name; None where the file, without suffix, doesn't fit the pattern."""
        folder, slash, base = file.rpartition("/")
        fits = len(base) > len(self.head) + len(self.tail) and base.startswith(self.head) and base.endswith(self.tail)
        return f"{folder}{slash}{base[len(self.head) : len(base) - len(self.tail)]}" if fits else None


def list_named(folder: Path, suffixes: Sequence[str], pattern: NamePattern) -> dict[str, str]:
    """Paths in `folder` and below that fit, by sample name, sorted. Raises `DataError` as `list_files` does."""
    found = list_files(folder, suffixes, nested=True)
    if pattern.is_plain:
        return found
    return dict(sorted((name, path) for file, path in found.items() if (name := pattern.sample(file)) is not None))


def suggest_patterns(images: Sequence[str], masks: Sequence[str]) -> tuple[NamePattern, NamePattern] | None:
    """Patterns that pair most of the images, from file names without suffix; None where there are none."""
    best, most, known = None, 0, set(masks)
    starts = itertools.product(images[:STARTS], masks[:COMPARED])
    for pair in dict.fromkeys(_common_patterns(PurePosixPath(a).name, PurePosixPath(b).name) for a, b in starts):
        if pair is not None:
            samples = (pair[0].sample(image) for image in images[:COMPARED])
            paired = sum(sample is not None and pair[1].file(sample) in known for sample in samples)
            best, most = (pair, paired) if paired > most else (best, most)
    return best if 2 * most >= len(images[:COMPARED]) else None


def _common_patterns(image: str, mask: str) -> tuple[NamePattern, NamePattern] | None:
    """Patterns whose `*` is the longest piece that both names have."""
    match = SequenceMatcher(None, image, mask, autojunk=False).find_longest_match()
    piece = image[match.a : match.a + match.size]
    cut = len(piece) - len(piece.lstrip(SEPARATORS))
    piece = piece.strip(SEPARATORS)
    if not piece:
        return None
    starts = match.a + cut, match.b + cut
    first, second = (
        NamePattern(name[:start], name[start + len(piece) :]) for name, start in zip((image, mask), starts, strict=True)
    )
    return first, second
