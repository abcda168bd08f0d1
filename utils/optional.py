"""Import torchvision even where its compiled operators don't fit the installed torch, and packages built on it."""

import importlib
import sys
from types import ModuleType

import torch

from utils.errors import EnvironmentFault

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


def import_extra(module: str, flag: str) -> ModuleType:
    """An optional package of requirements-extras.txt that builds on torchvision.

    Args:
        module: Its import name.
        flag: The option that asks for it, for the message.

    Raises:
        EnvironmentFault: It isn't installed.
    """
    import_torchvision()
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EnvironmentFault(
            f"{flag}: needs the package {module} ({error}); pip install -r requirements-extras.txt -c constraints.txt"
        ) from error
