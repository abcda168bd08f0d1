"""Models and their registry."""

from network.checkpointing import checkpoint_activations
from network.foreign import synchronise_norms
from network.kernels import use_kernels
from network.registry import build_model, list_models, release_key_map, resolve_arch

__all__ = [
    "build_model",
    "checkpoint_activations",
    "list_models",
    "release_key_map",
    "resolve_arch",
    "synchronise_norms",
    "use_kernels",
]
