"""Models and their registry."""

from network.foreign import convert_sync_batchnorm
from network.kernels import use_kernels
from network.recompute import checkpoint_activations
from network.registry import build_model, list_models, release_key_map, resolve_arch

__all__ = [
    "build_model",
    "checkpoint_activations",
    "list_models",
    "release_key_map",
    "resolve_arch",
    "convert_sync_batchnorm",
    "use_kernels",
]
