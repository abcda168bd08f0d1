"""The graph that every exported file is made from."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from engine.export.formats import SIDES, quiet
from utils.errors import OptionError


def export_program(model: nn.Module, size: Sequence[int], dynamic: bool) -> ExportedProgram:
    """Trace `model`, (1,H,W,3) uint8 -> (1,H,W) uint8.

    Args:
        model: In evaluation mode, on the CPU.
        size: (H,W).
        dynamic: Leave height and width open, within `SIDES`.

    Raises:
        OptionError: The model can't be traced, or its size can't be left open.
    """
    image = torch.zeros(1, *size, 3, dtype=torch.uint8)
    sides = {1 + i: Dim(name, min=SIDES[0], max=SIDES[1]) for i, name in enumerate(("height", "width"))}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(model, (image,), dynamic_shapes=(sides if dynamic else None,))
    except Exception as error:  # torch raises many kinds for what it can't trace
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(" For more information")[0][:200]
        if dynamic:
            raise OptionError(f"--dynamic: this model fixes its size ({reason}); export it with --size H,W") from error
        raise OptionError(f"this model can't be traced ({reason}); take another --size or model") from error
