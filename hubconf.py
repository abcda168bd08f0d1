"""For `torch.hub`: `torch.hub.load(REPO, "segmenter", snapshot="best.pth", source="local")("photo.jpg").labels`.

`segmenter` gives a `Segmenter`; each model of the registry has an entry point of its own name, which builds it with
fresh weights: `torch.hub.load(REPO, "fenet_r18", num_classes=19, source="local")`. See docs/python.md.
"""

import sys as _sys
from functools import partial as _partial
from pathlib import Path as _Path

dependencies = ["torch", "numpy", "cv2", "PIL"]
_ROOT = _Path(__file__).resolve().parent
_OURS = ("network", "datasets", "transforms", "utils", "engine")


def _check_names() -> None:
    """Raises ImportError if another package of one of our top-level names is in this process already."""
    for name in _OURS:
        place = getattr(_sys.modules.get(name), "__file__", None)
        if name in _sys.modules and (place is None or _ROOT not in _Path(place).resolve().parents):
            raise ImportError(
                f"another {name!r} is imported in this process ({place or _sys.modules[name]}); FENet has a package of"
                " this name: use it in a process of its own, or import it first"
            )


_check_names()

from engine.inference.segmenter import Segmenter as _Segmenter  # noqa: E402
from network import build_model as _build_model  # noqa: E402
from network import list_models as _list_models  # noqa: E402


def segmenter(snapshot: str | None = None, device: str = "auto", **options) -> _Segmenter:
    """Images -> labels, probabilities, overlays; arguments as of `engine.inference.segmenter.Segmenter`."""
    return _Segmenter(snapshot, device, **options)


def _model(arch: str, num_classes: int = 19, **options):
    """The registered model with fresh weights; arguments as of `network.build_model`."""
    return _build_model(arch, num_classes, **options)


def _entry_point(arch: str):
    entry = _partial(_model, arch)
    entry.__doc__ = f"`network.build_model({arch!r}, num_classes=19, **options)`: {arch} with fresh weights."
    return entry


globals().update({arch: _entry_point(arch) for arch in _list_models()})
