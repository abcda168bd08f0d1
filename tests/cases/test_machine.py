"""Machines as they are: a container's quota and small /dev/shm, files that can't be written, busy neighbours."""

import ast
import errno
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.loader import SafeDataLoader
from tests.conftest import eval_args, make_scenes, train_args
from tests.processes import ROOT
from utils import cli, machine
from utils.errors import EnvironmentFault
from utils.machine import SPINNING, _quota, limit_spinning

PROGRAMS = [ROOT / f"{name}.py" for name in ("train", "eval", "demo_folder")]
PROGRAMS += [path for path in sorted((ROOT / "scripts").glob("*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_limit_spinning_before_they_load_libraries(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.If):
            assert "limit_spinning()" in ast.unparse(node)
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            assert {names[0] or names[1]} <= sys.stdlib_module_names
    pytest.fail("no block for the main program")


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({}, SPINNING),
        ({"GOMP_SPINCOUNT": "5"}, {"KMP_BLOCKTIME": SPINNING["KMP_BLOCKTIME"]}),
        ({"KMP_BLOCKTIME": "infinite"}, {"GOMP_SPINCOUNT": SPINNING["GOMP_SPINCOUNT"]}),
        ({"OMP_WAIT_POLICY": "active"}, {}),
    ],
)
def test_what_the_user_set_about_waiting_stays(given, added, monkeypatch):
    environment = dict(given)
    monkeypatch.setattr(os, "environ", environment)
    limit_spinning()
    assert environment == given | added


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),  # a container sees its own group as the root
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/job/step\n", {"job/cpu.max": "200000 100000\n", "job/step/cpu.max": "max 100000\n"}, 2),
        ("0::/job/step\n", {"job/cpu.max": "800000 100000\n", "job/step/cpu.max": "400000 100000\n"}, 4),
        ("0::/not/mounted\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:memory:/docker/a\n1:cpu,cpuacct:/docker/a\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:cpuset:/\n", {"cpu.max": "100000 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        (None, {}, math.inf),
    ],
)
def test_quotas_of_control_groups(tmp_path, own, files, quota):
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if own is not None:
        (tmp_path / "own").write_text(own)
    assert _quota(tmp_path / "groups", tmp_path / "own") == quota


@pytest.mark.parametrize(("quota", "asked", "threads"), [(2.5, None, 3), (0.2, None, 1), (64, None, 4), (2, "4", 4)])
def test_threads_follow_the_quota_unless_the_user_says_how_many(monkeypatch, quota, asked, threads):
    set_to = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(machine, "_quota", lambda: quota)
    monkeypatch.setattr(cli, "usable_cores", machine.usable_cores.__wrapped__)
    monkeypatch.setattr(torch, "get_num_threads", lambda: set_to[-1] if set_to else 4)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cli.run_main(lambda _: 0, []) == 0
    assert torch.get_num_threads() == threads


class Samples(torch.utils.data.Dataset):
    """Samples of an image, a name and an index."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        return {"image": torch.full((3, 8, 8), float(index)), "name": f"{index}", "index": index}


def load(num_workers: int) -> list[dict]:
    return list(SafeDataLoader(Samples(), batch_size=2, num_workers=num_workers))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")
def test_batches_need_nothing_of_dev_shm(monkeypatch):
    def refuse(size: int) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", refuse)
    for first, second in zip(load(0), load(1), strict=True):
        assert first["name"] == second["name"]
        assert torch.equal(first["image"], second["image"]) and torch.equal(first["index"], second["index"])

    def forbidden(name: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden)  # PyTorch's way, which `refuse` is, remains
    with pytest.raises(EnvironmentFault, match="^RuntimeError: unable .*No space left.*--shm-size=1g.*--num_workers"):
        load(1)


def test_loader_processes_that_cannot_start(monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", full)
    with pytest.raises(EnvironmentFault, match="can't be started: No space left.*--shm-size=1g.*0: none"):
        load(1)


def test_no_folder_for_temporary_files_is_a_fault_of_the_environment(capfd):
    def body(_: list[str]) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    assert cli.run_main(body, []) == 5
    assert "TMPDIR=" in capfd.readouterr().err


def in_own_mounts(prepare: str, *programs: list[str], **environment: str) -> None:
    """Run programs after `prepare`, a line of shell, in a mount namespace; skips where that isn't allowed."""
    unshare = shutil.which("unshare")
    command = [unshare, "-m", "sh", "-c", f'{prepare} || exit 77; exec "$@"', "sh"]
    if not unshare or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces aren't permitted")
    for program in programs:
        done = subprocess.run(
            [*command, sys.executable, *program], cwd=ROOT, capture_output=True, text=True, env=os.environ | environment
        )
        assert done.returncode == 0, done.stderr[-2000:]


def evaluate(data: Path, out: Path) -> list[str]:
    """As a user would: with its default loader processes."""
    return ["eval.py", "--snapshot", str(out / "run" / "best.pth"), "--data_root", str(data), "--save_dir", str(out)]


@pytest.mark.slow
def test_64_mb_of_shared_memory(tmp_path):
    data, out = make_scenes(tmp_path / "data", 8, 1024, 1024), tmp_path / "runs"
    options = ["--crop_size", "1024", "--bs_mult", "4", "--max_epoch", "1", "--num_workers", "2"]  # 80 MB a batch
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    in_own_mounts(
        "mount -t tmpfs -o size=64m tmpfs /dev/shm",
        ["train.py", *train_args(data, out, *options)],
        evaluate(data, out),
        [*torchrun, *evaluate(data, out)],
    )


@pytest.mark.slow
def test_read_only_files_without_a_home(tmp_path):
    data, out = make_scenes(tmp_path / "data", 4), tmp_path / "out"
    out.mkdir()
    frame = tmp_path / "frames"
    frame.mkdir()
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(frame / "a.png")
    snapshot = out / "run" / "best.pth"
    programs = [
        ["train.py", *train_args(data, out, "--num_workers", "1", "--max_epoch", "1")],
        ["eval.py", *eval_args(snapshot, data, out / "scores", "--dump_images", "--report")],
        ["demo_folder.py", "--demo_folder", frame, "--snapshot", snapshot, "--save_dir", out / "demo"],
        ["scripts/doctor.py", *train_args(data, out)[:-1]],
    ]
    prepare = f"mount --bind {out} {out} && mount -o remount,bind,ro / && mount -o remount,bind,rw {out}"
    in_own_mounts(f"{prepare} && unset HOME", *[list(map(str, words)) for words in programs], TMPDIR=str(out))
