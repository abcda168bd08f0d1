"""Mixed precision: the type of autocast by its option's name, and the loss scaler."""

from dataclasses import dataclass

import torch

AUTOCAST = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of --amp
PRECISIONS = tuple(AUTOCAST)


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
