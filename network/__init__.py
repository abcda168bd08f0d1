"""Models and their registry."""

from network.registry import build_model, list_models, release_key_map, resolve_arch

__all__ = ["build_model", "list_models", "release_key_map", "resolve_arch"]
