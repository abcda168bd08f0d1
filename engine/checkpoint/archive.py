"""Files of tensors and plain data, torch's or safetensors': read without executing anything, written with digests.

A snapshot has two: a SHA-256 for each tensor, and one for the rest. In torch's format that is of the whole file, as the
archive's comment, and checked before anything is unpickled. A safetensors file has no room behind its tensors, so
there it is of the plain data (`plain_sha256`), in its metadata.
"""

import hashlib
import json
import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from engine.checkpoint.digests import check_tensors, is_snapshot, plain_sha256, seal
from utils.errors import CheckpointError
from utils.nested import named_tensors

# a release's file may hold its score as a NumPy float beside the weights; these build nothing but numbers
NUMPY_SCALARS = [np._core.multiarray.scalar, (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype]
NUMPY_SCALARS += [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)]


class _LeftOut:
    """Stands for an object of a trainer beside the weights: whatever it is given, it does nothing."""

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


# what other trainers keep beside the weights: options and paths. None of these classes is imported or called.
LEFT_OUT = [(_LeftOut, name) for name in ("argparse.Namespace", "pathlib.Path", "pathlib.PosixPath")]
LEFT_OUT += [(_LeftOut, name) for name in ("pathlib._local.PosixPath", "pathlib.WindowsPath")]
LEFT_OUT += [
    (_LeftOut, f"{package}.AttributeDict")
    for package in ("lightning_fabric.utilities.data", "lightning.fabric.utilities.data")
]
COMMENT = b"sha256:"  # of our archives: what precedes the digest of all bytes before the comment
METADATA_KEY = "fenet"  # in a file's metadata: what we say of it, as JSON


def read_archive(path: str | Path) -> Any:
    """Tensors and plain data of a torch or safetensors file, on the CPU; one of our snapshots is checked.

    Raises:
        CheckpointError: The file is missing, a folder, unreadable, damaged, or holds more than plain data.
    """
    path = Path(path)
    check_file(path)
    safetensors = path.suffix == ".safetensors"
    try:
        protected = not safetensors and _check_archive(path)
        content = _read_safetensors(path) if safetensors else _read_torch(path)
        _check_sizes(content)
        if is_snapshot(content):
            if not (safetensors or protected):
                raise ValueError("its end, with the SHA-256 of its bytes, is missing")
            if safetensors and content.get("plain_sha256") != plain_sha256(content):
                raise ValueError("its plain data fails its SHA-256")
            check_tensors(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}; take another snapshot") from error
    return content


def check_file(path: Path, flag: str = "--snapshot") -> None:
    """Raises `CheckpointError` unless this, which `flag` named, is a regular file."""
    if not os.path.exists(path):
        raise CheckpointError(f"{path}: no such file; check {flag}")
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, not a snapshot; name a file in it with {flag}")
    if not path.is_file():  # a device or a pipe might never end
        raise CheckpointError(f"{path}: is not a regular file; check {flag}")


def _read_safetensors(path: Path) -> dict:
    """Bare tensors, or a snapshot where `write_safetensors` left its plain data."""
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(METADATA_KEY)
        tensors = load_file(path)
        return tensors if header is None else {**json.loads(header), "model": tensors, "average": None}
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); take another file") from error


def is_own_safetensors(path: Path) -> bool:
    """True for a file that `write_safetensors` left with plain data."""
    try:
        with safe_open(path, "pt") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign pickles; they are refused in one line below
            with torch.serialization.safe_globals([*NUMPY_SCALARS, *LEFT_OUT]):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for damaged files, none of which is our mistake
        if "weights_only" in str(error) or "Weights only" in str(error):
            reason = "it is damaged, or holds more than tensors and plain data, which is never executed"
        else:
            reason = "it is damaged or not a snapshot"
        raise CheckpointError(f"{path}: cannot be loaded: {reason}; take another file") from error


def _check_sizes(content: Any) -> None:
    """Raises `ValueError` for a tensor that isn't stored element by element: copying it could fill the memory."""
    for name, tensor in named_tensors(content):
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_conj():
            raise ValueError(f"tensor {name} is of a kind that weights don't have")
        if tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"tensor {name} is larger than what is stored of it")


def write_safetensors(content: dict, file: BinaryIO) -> None:
    """A snapshot of `model` alone; what else `content` holds goes into the metadata as JSON, with the digests."""
    sealed = seal({**content, "average": None})
    plain = {key: value for key, value in sealed.items() if key != "model"}
    plain["plain_sha256"] = plain_sha256(sealed)
    file.write(save(content["model"], {METADATA_KEY: json.dumps(plain)}))


def write_archive(content: Any, file: BinaryIO) -> None:
    """`torch.save` with the SHA-256 of all its bytes as the archive's comment; `file` can be read and written."""
    torch.save(content, file)
    file.seek(-2, os.SEEK_END)  # the archive ends with the length of its comment, which is empty
    file.write(struct.pack("<H", len(COMMENT) + 64))
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0, os.SEEK_END)
    file.write(COMMENT + digest.encode())


def _check_archive(path: Path) -> bool:
    """True for a zip archive that ends with the SHA-256 of its bytes.

    Raises:
        ValueError: Its bytes changed, or it would unpack to more than it is: torch never compresses.
    """
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            unpacked, comment = sum(entry.file_size for entry in archive.infolist()), archive.comment
    except (zipfile.BadZipFile, NotImplementedError, OSError, struct.error) as error:
        raise ValueError(f"its archive can't be read ({error})") from error
    if unpacked > path.stat().st_size:
        raise ValueError("its parts are larger than the file")
    if not comment.startswith(COMMENT):
        return False
    digest, left = hashlib.sha256(), path.stat().st_size - len(comment)
    with open(path, "rb") as file:
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    if COMMENT + digest.hexdigest().encode() != comment:
        raise ValueError("its bytes fail their SHA-256")
    return True
