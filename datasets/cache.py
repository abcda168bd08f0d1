"""`--cache`: where a split's decoded pixels are kept, and who makes them.

`ram` is anonymous memory (memfd) that the processes of a node open through /proc: the kernel frees it with the last of
them, however they end. `disk` and a path are a file that later runs use again; it is complete or absent.
"""

import hashlib
import json
import os
import shutil
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

from datasets.base import Split
from datasets.dataset import load_pair
from datasets.pixel_file import PixelFile, Sizes, file_length, fill
from utils.distributed import on_first_of_node
from utils.errors import EnvironmentFault
from utils.files import make_folder, sync_folder
from utils.logging import get_logger
from utils.threads import parallel_map

VERSION = 2  # of what the pixels are; another one makes new files
SUFFIX = ".pixels"
GIB = 2**30


def open_cache(split: Split, where: str, folder: Path) -> PixelFile | None:
    """The cache of a labelled split, made first where there is none; one process of each node makes it.

    Args:
        split: What is to be cached.
        where: `off`, `ram`, `disk`, or a folder.
        folder: What `disk` means.

    Raises:
        DataError: A sample can't be read.
        EnvironmentFault: Not enough disk space or memory, or the folder can't be written.
    """
    if where == "off":
        return None
    key = cache_key(split)
    if where == "ram":
        return PixelFile(on_first_of_node(lambda: _fill_memory(split, key)), key)
    folder = Path(folder if where == "disk" else where)
    return PixelFile(on_first_of_node(lambda: str(_fill_file(split, key, folder))), key)


def cache_key(split: Split) -> str:
    """SHA-256 (hex) of what the pixels depend on: split, classes, files' times, how they are read, and `VERSION`."""
    times = split.file_stats()[:, :, 1].ravel().tolist()
    table = sorted(split.classes.id_to_train.items())
    what = [VERSION, split.fingerprint(), table, times, *split.reading()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _fill_memory(split: Split, key: str) -> str:
    """The path under which other processes of this user find the pixels."""
    if not hasattr(os, "memfd_create"):
        raise EnvironmentFault("--cache ram: needs Linux; use --cache disk")
    sizes = _sizes(split)
    _check(split, sizes, key, "ram", free_memory(), "memory")
    handle = os.memfd_create("fenet-pixels")  # stays open: what it holds goes with the process
    _fill(split, handle, key, sizes)
    return f"/proc/{os.getpid()}/fd/{handle}"


def _fill_file(split: Split, key: str, folder: Path) -> Path:
    """The file with the pixels, which may have been there already."""
    path = make_folder(folder, "--cache") / f"{split.dataset}_{split.split}_{key[:16]}{SUFFIX}".replace("/", "-")
    try:
        PixelFile(path, key)
        get_logger().info(f"cache: {path}")
        return path
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        get_logger().warning(f"cache: {path} is not usable ({error}); it is rebuilt")
    import fcntl  # not on Windows, where nothing else needs it

    _remove_leftovers(folder)
    sizes = _sizes(split)
    _check(split, sizes, key, str(path), shutil.disk_usage(folder).free, "disk space")
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")  # machines may share it
    with open(temporary, "wb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # says that it is being written
            _fill(split, file.fileno(), key, sizes)
            os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(folder)
    return path


def _remove_leftovers(folder: Path) -> None:
    """Deletes unfinished files whose process is gone, and names the caches of other data."""
    import fcntl

    for path in folder.glob(f".*{SUFFIX}.*.tmp"):
        # another run finishes it meanwhile, or is writing it
        with suppress(FileNotFoundError, BlockingIOError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    others = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # deleted meanwhile
            others.append(path.stat().st_size / GIB)
    if others:
        used = sum(others)
        get_logger().info(f"cache: {folder} holds {len(others)} of other data ({used:.1f} GiB), which may be deleted")


def _fill(split: Split, handle: int, key: str, sizes: Sizes) -> None:
    try:
        fill(handle, key, sizes, partial(load_pair, split), split.describe)
    except OSError as error:
        raise EnvironmentFault(f"--cache: {error.strerror}; make room, or name another folder") from error


def _sizes(split: Split) -> Sizes:
    """Sizes of all images, from the files' headers where samples are files."""
    return list(parallel_map(split.image_size, range(len(split))))


def _check(split: Split, sizes: Sizes, key: str, place: str, free: int, kind: str) -> None:
    """Says how much is needed. Raises `EnvironmentFault` where there is less, or hardly more."""
    needed = file_length(sizes, key)
    text = f"{needed / GIB:.2f} GiB for the pixels of {len(sizes)} samples of {split.dataset} {split.split}"
    if needed > 0.9 * free:
        raise EnvironmentFault(
            f"--cache: {place} needs {text}, and {free / GIB:.2f} GiB of {kind} are free;"
            " make room, name another folder (--cache PATH), or use --cache off"
        )
    get_logger().info(f"cache: {place}: {text}; {free / GIB:.2f} GiB of {kind} are free")


def free_memory() -> int:
    """Bytes of memory that this process may still take: of the machine, and of its control group."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free.append(int(limit.read_text()) - int(used.read_text()))
    return min(free)
