"""Digests of tensors and plain data: what a snapshot is sealed with, and checked against when it is read."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from utils.nested import named_leaves, named_tensors

DIGESTS = ("sha256", "plain_sha256")  # fields that no digest covers


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 (hex) over dtype, shape and bytes of one tensor, whatever its memory layout."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over the sorted names, dtypes, shapes and bytes of parameters and buffers."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tensor_sha256(state[name])}\n".encode())
    return digest.hexdigest()


def is_snapshot(content: Any) -> bool:
    """True for the content of one of our own snapshots."""
    return isinstance(content, dict) and isinstance(content.get("sha256"), dict) and "format" in content


def seal(content: dict) -> dict:
    """`content` with a SHA-256 for each of its tensors under `sha256`."""
    return {**content, "sha256": {name: tensor_sha256(tensor) for name, tensor in named_tensors(content)}}


def plain_sha256(content: dict) -> str:
    """SHA-256 (hex) over the places and values of everything that isn't a tensor, digests aside."""
    leaves = named_leaves({key: value for key, value in content.items() if key not in DIGESTS})
    plain = sorted(f"{path} {value!r}" for path, value in leaves if not isinstance(value, Tensor))
    return hashlib.sha256("\n".join(plain).encode("utf-8", "surrogatepass")).hexdigest()


def check_tensors(content: dict) -> None:
    """Raises `ValueError` if a snapshot's tensors aren't those that were sealed."""
    expected = content["sha256"]
    found = dict(named_tensors({key: value for key, value in content.items() if key not in DIGESTS}))
    if set(found) != set(expected):
        raise ValueError("its list of tensors doesn't fit its content")
    for name, tensor in found.items():
        if tensor_sha256(tensor) != expected[name]:
            raise ValueError(f"tensor {name} fails its SHA-256")
