"""Mutated and hostile weight files, given to every entry point that reads one."""

import copy
import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

import demo_folder
import eval as evaluation
import train
from engine.checkpoint.archive import METADATA_KEY, write_archive
from engine.checkpoint.digests import plain_sha256, seal
from engine.checkpoint.snapshot import load_snapshot
from scripts import export
from tests.campaigns.fuzz.guard import Guard, call, judge
from tests.campaigns.fuzz.mutations import Rng, flip_bits, mutate, zero_block
from tests.campaigns.fuzz.pickles import WRAPPINGS, hostile_pickle, in_memory, odd_tensors
from tests.campaigns.fuzz.world import World
from utils.errors import CheckpointError

ENDED = (2, 3, 4, 6)  # allowed besides 0: such a file may ask for other options or data, or hold weights that are nan
Made = tuple[bytes, str, bool]  # a file, its suffix, whether it has to be refused as a checkpoint


def damaged(world: World, rng: Rng) -> Made:
    """Bytes of a whole file changed; those of our own snapshots are under a SHA-256."""
    path = (world.last, world.best, world.handout, world.release, world.legacy)[rng.integers(5)]
    whole = path.read_bytes()
    data = mutate(whole, rng)
    return data, path.suffix, path in (world.last, world.best) and data != whole


def spliced(world: World, rng: Rng) -> Made:
    """The parts of two archives in one, or an archive packed anew with parts changed, renamed, missing or bombs."""
    first, second = world.release.read_bytes(), world.best.read_bytes()
    if rng.random() < 0.3:
        at = rng.integers(len(first)), rng.integers(len(second))
        return first[: at[0]] + second[at[1] :], ".pth", False
    file, odd = io.BytesIO(), int(rng.integers(20))
    kind = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[rng.integers(2)]
    with zipfile.ZipFile(io.BytesIO((first, second)[rng.integers(2)])) as old, zipfile.ZipFile(file, "w", kind) as new:
        for i, entry in enumerate(old.infolist()):
            name, data = entry.filename, old.read(entry)
            if i == odd:
                changes = (
                    (name, mutate(data, rng)),
                    (f"../../{name}", data),
                    (f"/CANARY/{i}", data),
                    (name, bytes(1 << 27)),
                    (name.replace("data", "date"), data),
                    (name, b""),
                )
                name, data = changes[rng.integers(len(changes))]
            new.writestr(name, data)
    return file.getvalue(), ".pth", False


def hostile(world: World, rng: Rng) -> Made:
    """Pickles that want to run something, or that multiply."""
    content = hostile_pickle(rng)
    if rng.random() < 0.2:
        content = mutate(content, rng)
    return WRAPPINGS[rng.integers(len(WRAPPINGS))](content), ".pth", False


def odd(world: World, rng: Rng) -> Made:
    """Honest pickles of odd tensors and containers."""
    return in_memory(odd_tensors(rng)), ".pth", False


def _values(rng: Rng) -> object:
    values = (
        *(
            None,
            -1,
            0,
            2**70,
            10**9,
            math.nan,
            math.inf,
            "",
            "x",
            "\n\x1b[31m",
            "../../etc",
            True,
            b"bytes",
            1j,
            (),
            [],
        ),
        *({}, [[]], {"a": {"b": []}}, {1: 2}, torch.zeros(1), torch.zeros(3, 2), torch.zeros(2, dtype=torch.long)),
        *(torch.full((1,), math.nan), torch.Size([1]), torch.float32, "9" * 5000, [0] * 300, ["a"] * 300, {"a": "b"}),
    )
    return copy.deepcopy(values[rng.integers(len(values))])


def _places(content: object) -> list[tuple[object, object]]:
    """(container, key) of what stands in nested dicts and lists."""
    if isinstance(content, dict):
        own = [(content, key) for key in content]
    elif isinstance(content, list):
        own = [(content, index) for index in range(len(content))]
    else:
        return []
    return own + [place for container, key in own for place in _places(container[key])]


def change_fields(content: dict, rng: Rng) -> dict:
    """One to three values of any field replaced, removed or renamed; fields that aren't weights are drawn most."""
    content = copy.deepcopy(content)
    for _ in range(rng.integers(1, 4)):
        places = _places(content)
        plain = [(c, k) for c, k in places if not isinstance(c[k], torch.Tensor) and not str(k).startswith("/")]
        container, key = (plain if rng.random() < 0.8 else places)[rng.integers(len(plain))]
        what = rng.random()
        if what < 0.7:
            container[key] = _values(rng)
        elif what < 0.9 or isinstance(container, list):
            del container[key]
        else:
            container[f"{key}_"] = container.pop(key)
    return content


def other_fields(world: World, rng: Rng) -> Made:
    """A snapshot with other types or values in its fields, sealed as if we had written it, or not sealed again."""
    path = (world.last, world.best)[rng.integers(2)]
    content = torch.load(path, weights_only=True)
    sealed = rng.random() < 0.8
    if sealed:
        content = {key: value for key, value in content.items() if key not in ("sha256", "plain_sha256")}
    content = change_fields(content, rng)
    file = io.BytesIO()
    write_archive(seal(content) if sealed else content, file)
    return file.getvalue(), ".pth", False


def safetensors(world: World, rng: Rng) -> Made:
    """A safetensors file whose header or metadata was changed."""
    data = world.handout.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    if rng.random() < 0.6:
        plain = _as_json(change_fields(json.loads(header["__metadata__"][METADATA_KEY]), rng))
        if isinstance(plain, dict) and rng.random() < 0.7:
            content = {key: value for key, value in plain.items() if key not in ("sha256", "plain_sha256")}
            plain = seal({**content, "average": None, "model": load_file(world.handout)})
            plain["plain_sha256"] = plain_sha256(plain)
            del plain["model"]
        header["__metadata__"][METADATA_KEY] = json.dumps(plain)
    else:
        header = _as_json(change_fields(header, rng))
    text = json.dumps(header).encode()
    texts = (
        text,
        text,
        text,
        b"[" * 100_000,
        text.replace(b"}", b",", 1),
        b" " * 200_000_000 if rng.random() < 0.1 else b"{}",
    )
    text = texts[rng.integers(len(texts))]
    lengths = (len(text),) * 5 + (0, 2**63, len(text) + 1)
    return struct.pack("<Q", lengths[rng.integers(len(lengths))]) + text + rest, ".safetensors", False


def _as_json(value: object) -> object:
    return json.loads(json.dumps(value, default=str))


MAKERS = (damaged, spliced, hostile, odd, other_fields, other_fields, safetensors)


def checkpoints(world: World) -> Callable[[Rng, Path, Guard], tuple[str, list[str]]]:
    """The target: one file, one entry point."""

    def target(rng: Rng, place: Path, guard: Guard) -> tuple[str, list[str]]:
        maker = MAKERS[rng.integers(len(MAKERS))]
        data, suffix, refused = maker(world, rng)
        path = place / f"weights{suffix}"
        path.write_bytes(data)
        main, argv = entry(world, rng, place, path)
        with guard.watch() as seen:
            done = call(main, argv, place / "printed")
        found = judge(done, ENDED) + seen
        if refused and done.code != 4:
            found.append(f"a damaged snapshot ends with {done.code}: {argv}")
        return f"{maker.__name__} {done.code}", found

    return target


def entry(world: World, rng: Rng, place: Path, path: Path) -> tuple[Callable, list]:
    """An entry point that reads the file."""
    bare = ["--arch", "fenet_tiny", "--dataset", "folder"] if rng.random() < 0.3 else []
    training = [*world.train_args(world.data, place / "out"), "--max_steps", "3", "--ema", "0.9"]
    choices = (
        (
            demo_folder.main,
            ["--source", world.data / "images" / "val", "--snapshot", path, "--save_dir", place / "out"],
        ),
        (evaluation.main, ["--data_root", world.data, "--snapshot", path, "--save_dir", place / "out", *bare]),
        (train.main, [*training, "--resume", path]),
        (train.main, [*training, "--resume", path, "--resume_override"]),
        (train.main, [*training, "--snapshot", path, *["--partial"][: rng.integers(2)]]),
        (train.main, [*training, "--pretrained", path, *["--partial"][: rng.integers(2)]]),
        (
            export.main,
            ["--snapshot", path, "--out", place / "out", "--format", ("safetensors", "release")[rng.integers(2)]],
        ),
    )
    main, argv = choices[rng.integers(len(choices))]
    if main in (demo_folder.main, evaluation.main):
        argv = [*argv, "--device", "cpu"]
    return main, argv + (["--num_workers", "0"] if main is evaluation.main else [])


def flips(world: World) -> Callable[[Rng, Path, Guard], tuple[str, list[str]]]:
    """The target: flipped bits and zeroed blocks in our snapshots, each of which has to be found."""

    def target(rng: Rng, place: Path, guard: Guard) -> tuple[str, list[str]]:
        whole = (world.last, world.best)[rng.integers(2)].read_bytes()
        data = (flip_bits, zero_block)[rng.integers(2)](whole, rng)
        if data == whole:
            return "unchanged", []
        path = place / "last.pth"
        path.write_bytes(data)
        try:
            with guard.watch() as seen:
                load_snapshot(path)
        except CheckpointError:
            return "found", seen
        return "missed", [*seen, "a damaged snapshot was loaded"]

    return target
