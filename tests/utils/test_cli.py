import argparse
import errno
import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from utils import distributed
from utils.cli import run_main
from utils.drawing import error_map, overlay, save_png, side_by_side
from utils.errors import CheckpointError, DataError, EnvironmentFault, NumericsError, OptionError, PeerLostError
from utils.files import file_sha256, write_atomically, write_json
from utils.options import Parser


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionError("a"), 2),
        (DataError("a"), 3),
        (CheckpointError("a"), 4),
        (EnvironmentFault("a"), 5),
        (NumericsError("a"), 6),
        (PeerLostError("a"), 7),
        (OSError(errno.ENOSPC, "No space left on device"), 5),
        (torch.OutOfMemoryError("CUDA out of memory"), 5),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 5),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 5),
        (RuntimeError("unable to mmap 64 bytes from file </torch_1>: Cannot allocate memory (12)"), 5),
        (RuntimeError("[gloo] Timed out waiting 60000ms for recv operation to complete"), 7),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:40000"), 7),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), 5),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(error, code, capfd):
    def body(argv):
        raise error

    assert run_main(body, []) == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, AssertionError, RecursionError])
def test_our_own_mistakes_are_one_line_too(kind, capfd):
    def body(argv):
        raise kind("shape\nmismatch \x1b[31m")

    assert run_main(body, []) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: internal: {kind.__name__}: ") and "--debug" in line and line.isprintable()
    assert run_main(body, ["--debug"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_parser_accepts_no_abbreviations():
    parser = Parser(prog="x")
    parser.add_argument("--snapshot")
    assert parser.parse_args(["--snapshot", "a"]) == argparse.Namespace(snapshot="a")
    with pytest.raises(OptionError, match="--snap"):
        parser.parse_args(["--snap", "a"])


def test_write_is_complete_or_absent(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    before = file_sha256(path)

    def fail(file):
        file.write(b"half")
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(EnvironmentFault, match="a.json"):
        write_atomically(path, fail)
    assert file_sha256(path) == before and os.listdir(path.parent) == ["a.json"]
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert file_sha256(path) == before and os.listdir(path.parent) == ["a.json"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    for name in ("x" * 250 + ".json", "字" * 84):
        write_json(tmp_path / name, {})
        assert (tmp_path / name).exists()


def test_drawing(tmp_path):
    image, colors = np.full((4, 6, 3), 100, np.uint8), np.full((4, 6, 3), 200, np.uint8)
    assert (overlay(image, colors, 0.25) == 125).all()
    label = np.zeros((4, 6), np.uint8)
    label[0] = 255
    prediction = label.copy()
    prediction[:, 0] = 1
    picture = error_map(image, prediction, label, 255)
    assert (picture[0] == 0).all() and (picture[1:, 0] == (230, 40, 40)).all() and (picture[1:, 1:] == 90).all()
    row = side_by_side([image, colors], gap=2)
    assert row.shape == (4, 14, 3) and (row[:, 6:8] == 255).all()
    save_png(tmp_path / "a.png", row)
    assert (np.array(Image.open(tmp_path / "a.png")) == row).all()


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.job("cpu") as process:
        assert (process.rank, process.world_size, process.is_main) == (0, 1, True)
    total = torch.tensor([2**53 + 1])
    assert distributed.sum_over_ranks(total).item() == 2**53 + 1
    assert distributed.any_rank(True) and not distributed.any_rank(False)
    assert distributed.gather_objects("a") == ["a"] and distributed.node_by_node(lambda: 3) == 3


@pytest.mark.parametrize(("body", "code"), [("[print(i) for i in range(100_000)]", 141), ("log()", 0)])
def test_output_that_nobody_reads_any_more_ends_quietly(body, code):
    program = (
        "import sys; from utils.cli import run_main; from utils.logging import setup_logging\n"
        "def log():\n for i in range(9): setup_logging(True).info(f'step {i}')\n"
        f"def body(argv):\n sys.stdin.read()\n {body}\n"
        "sys.exit(run_main(body, []))"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as child:
        child.stdout.close()
        child.stdin.close()
        assert child.stderr.read() == b"" and child.wait() == code


@pytest.mark.parametrize(("body", "code"), [("log()", 0), ("log(); raise DataError('a')", 3), ("print('a')", 5)])
def test_a_full_disk_behind_standard_output(body, code):
    program = (
        "import sys; from utils.cli import run_main; from utils.errors import DataError\n"
        "from utils.logging import setup_logging\n"
        "def log():\n for i in range(9): setup_logging(True).info(f'step {i}')\n"
        f"def body(argv):\n {body}\n"
        "sys.exit(run_main(body, []))"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == code and done.stderr.count(b"\n") == (code != 0)


def test_programs_without_standard_output_end_as_always(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    assert run_main(lambda argv: None, []) == 0
    monkeypatch.setattr("sys.stdout", io.StringIO())

    def broken(argv: object) -> None:
        raise BrokenPipeError("a worker's")

    assert run_main(broken, []) != 141
