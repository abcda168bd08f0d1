"""Can the files be read, and do image and label fit together?"""

from collections import Counter
from collections.abc import Iterator

from datasets.checks.inspection import SampleFacts, choose_samples, inspect_samples
from scripts.doctor_checks.findings import Finding, Visit, many, some

# kind of fault -> noun, what is wrong, remedy
FAULTS = {
    "image": ("image", "can't be read", "get damaged files again, from the archive"),
    "label": (
        "label",
        "can't be read as ids",
        "get damaged files again; save labels as 8-bit PNG with one channel of ids, no colours",
    ),
    "size": ("label", "of another size than the image", "resize the label (nearest neighbour), or take the right one"),
}
UNUSUAL_MODES = {
    "L": "grey images; they become RGB with three equal channels",
    "RGBA": "images with transparency; it is dropped",
    "LA": "images with transparency; it is dropped",
    "CMYK": "CMYK images; they are converted",
    "I;16": "16-bit images; they are scaled to 8 bits",
    "I;16B": "16-bit images; they are scaled to 8 bits",
    "I": "16-bit images; they are scaled to 8 bits",
}


def read_samples(visit: Visit, count: int, seconds: float) -> Iterator[Finding]:
    """Reads `count` samples of each split, for about `seconds` at most; with `full` all of them, however long."""
    chosen = {
        name: choose_samples(split, len(split) if visit.full else count, visit.seed)
        for name, split in visit.splits.items()
    }
    # the splits take turns, so that each has its share if time runs out
    turns = sorted((turn, name) for name, indices in chosen.items() for turn in range(len(indices)))
    jobs = [(name, chosen[name][turn]) for turn, name in turns]
    found = inspect_samples(
        [(visit.splits[name], index) for name, index in jobs], None if visit.full else seconds, visit.full
    )
    visit.facts = {name: [] for name in visit.splits}
    for (name, _), facts in zip(jobs, found, strict=True):
        if facts is not None:
            visit.facts[name].append(facts)
    if None in found:
        what = f"{found.count(None)} of {len(jobs)} chosen samples were not read, to be done within a minute"
        yield Finding("note", what, remedy="--full reads everything")


def check_files(visit: Visit) -> Iterator[Finding]:
    """Unreadable files, label formats, sizes and modes, for each split."""
    for name, samples in visit.facts.items():
        faulty = 0
        for kind, (noun, what, remedy) in FAULTS.items():
            faults = [fault for facts in samples for fault in facts.faults if fault.kind == kind]
            faulty += len(faults)
            if faults:
                text = f"{name}: {many(len(faults), noun)} {what} ({visit.read(name)} read)"
                yield Finding("error", text, tuple(fault.text for fault in faults), remedy)
        if not faulty:
            yield Finding("ok", f"{name}: {visit.read(name)} read, no file is damaged")
        yield from _describe(visit, name, samples)


def _describe(visit: Visit, name: str, samples: list[SampleFacts]) -> Iterator[Finding]:
    sizes = Counter(f"{facts.size[1]}x{facts.size[0]}" for facts in samples if facts.size)
    visit.details.setdefault("sizes", {})[name] = dict(sizes)
    if not sizes:
        return
    several = f"{len(sizes)} sizes: " if len(sizes) > 1 else ""
    yield Finding("ok", f"{name}: images of {several}{some(size for size, _ in sizes.most_common())} pixels")
    val = name == visit.config.data.val_split
    if val and len(sizes) > 1 and visit.config.validation.bs_mult_val > 1:
        what = f"{name}: images of different sizes don't fit in one batch of {visit.config.validation.bs_mult_val}"
        yield Finding("error", what, remedy="--bs_mult_val 1", exit_code=2)
    for mode, count in Counter(facts.mode for facts in samples).items():
        if mode in UNUSUAL_MODES:
            yield Finding("note", f"{name}: {count} {UNUSUAL_MODES[mode]}")
    palette = sum(facts.label_mode == "P" for facts in samples)
    if palette:
        yield Finding("note", f"{name}: {palette} labels are palette PNGs; the numbers of the colours are the ids")
