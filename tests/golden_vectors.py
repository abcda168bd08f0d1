"""The reference figures of `tests/golden/` and the inputs they were computed from."""

import importlib.util
import json
from pathlib import Path

_FOLDER = Path(__file__).parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_vectors_inputs", _FOLDER / "vectors.py")
vectors = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vectors)


def load(name: str) -> dict:
    """Figures of `tests/golden/<name>.json`."""
    return json.loads((_FOLDER / f"{name}.json").read_text())
