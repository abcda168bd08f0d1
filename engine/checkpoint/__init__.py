"""Snapshots: written atomically, checked when read, and what else weights come in."""

from engine.checkpoint.loading import load_model, load_weights
from engine.checkpoint.pretrained import load_pretrained
from engine.checkpoint.snapshot import load_snapshot, save_snapshot

__all__ = ["load_model", "load_pretrained", "load_snapshot", "load_weights", "save_snapshot"]
