"""Digests of nested tensors and plain data: what a snapshot is sealed with, and checked against when it is read."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from utils.nested import named_leaves, named_tensors

MAX_TEXT = 1 << 26  # letters of all values and their places


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
    """`content` with a SHA-256 for each of its tensors under `sha256`, and one of all the rest under `plain_sha256`."""
    digests = {name: tensor_sha256(tensor) for name, tensor in named_tensors(content)}
    return {**content, "sha256": digests, "plain_sha256": _plain_sha256(content)}


def _plain_sha256(content: dict) -> str:
    """SHA-256 (hex) over the places and values of everything that isn't a tensor; raises `ValueError` for too much."""
    plain, length = [], 0
    for path, value in named_leaves(content):
        if not isinstance(value, Tensor):
            plain.append(f"{path} {value!r}")
            length += len(plain[-1])
            if length > MAX_TEXT:
                raise ValueError(f"holds more than {MAX_TEXT} letters of plain data")
    plain.sort()
    return hashlib.sha256("\n".join(plain).encode("utf-8", "surrogatepass")).hexdigest()


def check_digests(content: dict) -> None:
    """Raises `ValueError` if a snapshot's content isn't what was sealed."""
    expected = content["sha256"]
    sealed = {key: value for key, value in content.items() if key not in ("sha256", "plain_sha256")}
    found = dict(named_tensors(sealed))
    if set(found) != set(expected):
        raise ValueError("its list of tensors doesn't fit its content")
    for name, tensor in found.items():
        if tensor_sha256(tensor) != expected[name]:
            raise ValueError(f"tensor {name} fails its SHA-256")
    if "plain_sha256" in content and _plain_sha256(sealed) != content["plain_sha256"]:
        raise ValueError("its plain data fails its SHA-256")
