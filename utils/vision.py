"""Import torchvision even where its compiled operators don't fit the installed torch."""

import importlib
import sys
from types import ModuleType

import torch

# kept alive: operators defined through a Library vanish with it
_library: torch.library.Library | None = None
_SCHEMAS = ("nms", "qnms")


def import_torchvision() -> ModuleType:
    """torchvision; with a CPU torch and a CUDA torchvision (a mixed install) its missing operators are declared first.

    Only box suppression and the image decoders stay unusable then; models and transforms work.

    Raises:
        ImportError: torchvision isn't installed.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    for name in _SCHEMAS:
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision")
