"""Models and their registry."""

from network.build import build_model, check_buildable, release_key_map
from network.kernels import use_kernels
from network.parts.sync_norm import synchronise_norms
from network.recompute import checkpoint_activations
from network.registry import list_models, resolve_arch
from network.release_names import is_release_name

__all__ = [
    "build_model",
    "check_buildable",
    "checkpoint_activations",
    "is_release_name",
    "list_models",
    "release_key_map",
    "resolve_arch",
    "synchronise_norms",
    "use_kernels",
]
