"""Import packages that may be missing or, as torchvision, broken, with an error that says how to install them."""

import importlib
import sys
from types import ModuleType

import torch

from utils.errors import EnvironmentFault

# kept alive: operators defined through a Library vanish with it
_library: torch.library.Library | None = None
_SCHEMAS = ("nms", "qnms")


def import_package(module: str, wanted_by: str, remedy: str) -> ModuleType:
    """A package by its import name.

    Args:
        module: Import name.
        wanted_by: The option or output that needs it.
        remedy: What to do without it.

    Raises:
        EnvironmentFault: It can't be imported; the message holds `wanted_by` and `remedy`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EnvironmentFault(f"{wanted_by}: needs the package {module.split('.')[0]} ({error}); {remedy}") from error


def import_extra(module: str, flag: str) -> ModuleType:
    """A package of requirements-extras.txt that builds on torchvision; raises as `import_package`."""
    import_torchvision()
    return import_package(module, flag, "pip install -r requirements-extras.txt")


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
