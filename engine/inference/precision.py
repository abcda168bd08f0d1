"""Mixed precision: which one `--amp auto` takes and why, the type of autocast by its option's name, the loss scaler."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch

from network.registry import ON_TIMM, PEERS
from utils import distributed
from utils.errors import OptionError
from utils.logging import get_logger
from utils.processor import BF16, bf16_instructions

AUTOCAST = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of --amp
PRECISIONS = tuple(AUTOCAST)
CHOICES = ("auto", *PRECISIONS)


class Agreement(NamedTuple):
    """bf16 against float32 on trained weights.

    Attributes:
        receipt: `docs/results/RECEIPT.json`, which holds the figures, commands and machine.
        points: Of mean IoU that bf16 adds.
        differ: Fraction of the labels that differ.
    """

    receipt: str
    points: float
    differ: float


# how many times as fast as in float32 a 3x3 convolution of 128 channels, 128x256, runs on two cores: a Xeon 2238 of 261
# GFLOP/s; EPYCs of Zen 4 447 of 224, of Zen 5 990 of 418. Without these instructions bf16 is the slower one
FASTER = {"amx_bf16": 8.6, "avx512_bf16": 2.0}
# by what computes and the kind of model
AGREEMENTS = {
    ("torch", "resnet"): Agreement("bf16_fenet_tiny", -0.003, 0.0016),
    ("torch", "timm"): Agreement("bf16_camvid_fenet", -0.010, 0.0012),
    ("torch", "smp"): Agreement("bf16_camvid_smp_fpn", -0.092, 0.0025),
    ("openvino", "resnet"): Agreement("bf16_fenet_tiny", -0.013, 0.002),
    ("openvino", "timm"): Agreement("bf16_camvid_fenet", 0.028, 0.0013),
    ("openvino", "smp"): Agreement("bf16_camvid_smp_fpn", -0.128, 0.0026),
    ("openvino int8", "resnet"): Agreement("bf16_fenet_tiny", -0.041, 0.0043),  # of what isn't int8
    ("openvino int8", "timm"): Agreement("bf16_camvid_fenet", -0.018, 0.0026),
}
MOST_POINTS = 0.05  # that labels in another precision than float32 may cost or bring, unless they were asked for


@dataclass(frozen=True)
class Choice:
    """A precision and why it is this one.

    Attributes:
        amp: `off`, `bf16` or `fp16`.
        reason: In words.
    """

    amp: str
    reason: str

    def __str__(self) -> str:
        return f"{'float32' if self.amp == 'off' else self.amp} ({self.reason})"

    @property
    def dtype(self) -> torch.dtype | None:
        """Of autocast; None: off."""
        return AUTOCAST[self.amp]


def choose_precision(
    task: str,
    device: str,
    kind: str,
    instructions: Collection[str],
    *,
    runtime: str = "torch",
    deterministic: bool = False,
) -> Choice:
    """What `--amp auto` is: a function of its arguments and of the table above, whatever the machine does meanwhile.

    Args:
        task: `training` or `inference`.
        device: `cpu` or `cuda`.
        kind: As `model_kind` says.
        instructions: Of the processor, as `bf16_instructions` gives them.
        runtime: What computes: `torch`, `openvino`, `openvino int8` or `onnx`.
        deterministic: Of training.
    """
    if device != "cpu":
        return Choice("off", "auto: on a GPU --amp bf16 asks for it")
    if deterministic:
        return Choice("off", "auto: --deterministic")
    if runtime == "onnx":
        return Choice("off", "auto: as the ONNX file has it")
    name, times = expected_speed(instructions)
    if name is None:
        return Choice("off", f"auto: this CPU has none of {', '.join(BF16)}")
    why = f"auto: this CPU has {name}; measured: convolutions {times:g} times as fast"
    if task == "training":
        return Choice("bf16", why)
    found = AGREEMENTS.get((runtime, kind))
    if found is None:
        return Choice("off", f"auto: bf16 wasn't measured for {kind} models in {runtime}")
    accuracy = f"mIoU {found.points:+.3f} points in docs/results/{found.receipt}.json"
    if abs(found.points) > MOST_POINTS:
        return Choice("off", f"auto: bf16 changes labels of {kind} models: {accuracy}, allowed {MOST_POINTS:g}")
    return Choice("bf16", f"{why}, {accuracy}")


def expected_speed(instructions: Collection[str]) -> tuple[str | None, float]:
    """The instruction that bf16 convolutions would use, and how many times as fast as float32 the table says they are.

    None and 0 where there is none: then the table takes float32.
    """
    name = next((name for name in BF16 if name in instructions), None)
    return name, FASTER.get(name, 0.0)


def settle_precision(asked: str, task: str, device: torch.device, arch: str, **more) -> Choice:
    """The precision of this process: what `--amp` names, or `choose_precision` for this machine.

    Args:
        asked: One of `CHOICES`.
        task: `training` or `inference`.
        device: Where is computed.
        arch: The model's registered name.
        more: Further arguments of `choose_precision`.
    """
    if asked != "auto":
        return Choice(asked, f"--amp {asked}")
    return choose_precision(task, device.type, model_kind(arch), bf16_instructions(), **more)


def model_kind(arch: str) -> str:
    """`resnet` (our models on our encoders), `timm`, `smp` or `other`, of a registered name."""
    if arch in PEERS:
        return "smp"
    if arch in ON_TIMM:
        return "timm"
    return "resnet" if arch.startswith(("fenet_", "sfnet_")) else "other"


def is_computed_here(amp: str, device: torch.device) -> bool:
    """True unless this precision needs instructions or a GPU that aren't here."""
    if device.type == "cpu":
        return amp == "off" or (amp == "bf16" and bool(bf16_instructions()))
    return amp in PRECISIONS and (amp != "bf16" or torch.cuda.is_bf16_supported(including_emulation=False))


def warn_if_emulated(choice: Choice, device: torch.device) -> None:
    """Warns of bf16 that was asked of a CPU or GPU without instructions for it."""
    if choice.amp != "bf16" or is_computed_here(choice.amp, device):
        return
    if device.type == "cpu":
        get_logger().warning(
            f"--amp bf16: this CPU has none of {', '.join(BF16)} and emulates them, many times slower than float32,"
            " which --amp auto takes here"
        )
    else:
        get_logger().warning(
            "--amp bf16: this GPU is older than Ampere and emulates it, slowly; --amp fp16 is fast here"
        )


def check_processes(choice: Choice) -> None:
    """Raises `OptionError` on all processes of a job unless all made the same choice; all have to call it."""
    found = distributed.gather_objects(choice.amp)
    other = next((rank for rank, amp in enumerate(found) if amp != found[0]), None)
    if other is not None:
        raise OptionError(
            f"--amp auto: {found[0]} on rank 0 and {found[other]} on rank {other}, whose processors differ; give all"
            " processes --amp off, or --amp bf16, which is slow on those without instructions for it"
        )


@dataclass
class Precision:
    """Mixed precision: `dtype` of autocast (None: off) and the loss scaler, which only float16 needs."""

    dtype: torch.dtype | None
    scaler: torch.amp.GradScaler

    @classmethod
    def build(cls, name: str, device: torch.device) -> "Precision":
        """`off`, `bf16` or `fp16`."""
        dtype = AUTOCAST[name]
        return cls(dtype, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))
