"""Which device a process gets, and a GPU that PyTorch can't use; GPUs and nvidia-smi are pretended."""

import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

import demo_folder
import eval as evaluation
import train
from engine.inference.segmenter import Segmenter
from utils import devices, distributed
from utils.devices import choose_device, unusable_gpu
from utils.errors import EnvironmentFault, OptionError
from utils.heartbeat import Heartbeat
from utils.logging import get_logger


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No GPU, no nvidia-smi, no launcher; what is said once a process is forgotten."""
    for name in ("CUDA_VISIBLE_DEVICES", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devices, "DEVICE_FILE", tmp_path / "nvidia0")
    monkeypatch.setattr(devices, "DRIVER_FILE", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(get_logger(), "propagate", True)  # to caplog, also after a program ran
    for cached in (unusable_gpu, devices._say_once):
        cached.cache_clear()
    yield
    unusable_gpu.cache_clear()


@pytest.fixture
def gpus(monkeypatch):
    """Pretends so many GPUs; returns the numbers that became the current one."""
    current = []

    def pretend(count: int) -> list[int]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", current.append)
        return current

    return pretend


def driver(tmp_path, version: str) -> None:
    """A machine whose nvidia-smi names this driver."""
    stub = tmp_path / "nvidia-smi"
    stub.write_text(f"#!/bin/sh\necho {version}\necho {version}\n")
    stub.chmod(0o755)


def test_each_process_has_the_gpu_of_its_number(gpus):
    current = gpus(4)
    assert choose_device("cuda", 3, 4) == torch.device("cuda:3") and choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1") and choose_device("cpu", 3, 4).type == "cpu"
    assert current == [3, 0, 1]


@pytest.mark.parametrize(
    ("name", "processes", "fault", "words"),
    [
        ("cuda:1", 2, OptionError, "--device cuda:1: names one GPU for 2 processes.*CUDA_VISIBLE_DEVICES"),
        ("cuda:4", 1, EnvironmentFault, "--device cuda:4: PyTorch finds 4"),
        ("gpu", 1, OptionError, "--device gpu: must be auto, cpu, cuda, or"),
        ("cuda", 8, EnvironmentFault, r"process 7 .* \(4 found\)"),
    ],
)
def test_refused(gpus, name, processes, fault, words):
    gpus(4)
    with pytest.raises(fault, match=words):
        choose_device(name, processes - 1, processes)


def test_a_task_of_slurm_sees_its_own_gpu_alone(gpus, monkeypatch):
    gpus(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert choose_device("auto", 3, 4) == torch.device("cuda:0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")  # torchrun's processes would share it
    with pytest.raises(EnvironmentFault, match="process 3"):
        choose_device("auto", 3, 4)


def test_every_program_takes_the_number_of_a_gpu(capsys):
    places = ["--snapshot", "a.pth", "--save_dir", "out"]
    for main, argv in ((train.main, []), (evaluation.main, places), (demo_folder.main, [*places, "--source", "."])):
        assert main([*argv, "--device", "cuda:1"]) == 5
        assert "error: --device cuda:1: PyTorch finds no CUDA device here; use" in capsys.readouterr().err
        assert main([*argv, "--device", "cuda1"]) == 2
        assert "--device cuda1: must be auto, cpu, cuda, or one GPU of several" in capsys.readouterr().err
    with pytest.raises(EnvironmentFault, match="--device cuda:0"):
        Segmenter(device="cuda:0")


@pytest.mark.parametrize(
    ("version", "built_for", "remedy"),
    [
        ("535.104.05", None, "torch>=2.10.*whl/cu126"),
        ("535.104.05", "13.0", "whl/cu126"),
        ("580.95.05", None, "whl/cu130"),
        ("470.82", "12.6", "install driver 525 or newer"),
        ("580.95.05", "12.6", "driver and build fit.*--gpus all"),
    ],
)
def test_a_gpu_that_pytorch_cannot_use(tmp_path, monkeypatch, caplog, version, built_for, remedy):
    driver(tmp_path, version)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    build = f"built for CUDA {built_for}" if built_for else "a CPU build"
    words = rf"driver {version}\) that PyTorch .*\({build}\) can't use; .*{remedy}"
    with pytest.raises(EnvironmentFault, match=words):
        choose_device("cuda")
    with pytest.raises(EnvironmentFault, match=f"--device auto: .*{words}"):
        choose_device("auto", 0, 8)  # not eight processes on the CPU
    with caplog.at_level(logging.WARNING, "fenet"):
        assert [choose_device("auto").type for _ in range(2)] == ["cpu", "cpu"]
    assert len(caplog.records) == 1 and version in caplog.text
    assert choose_device("cpu", 0, 8).type == "cpu"


def test_without_nvidia_smi_the_kernel_says_the_driver(tmp_path):
    assert unusable_gpu() is None and choose_device("auto", 0, 8).type == "cpu"
    unusable_gpu.cache_clear()
    (tmp_path / "nvidia0").touch()
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\n")
    assert "driver 535.104.05" in unusable_gpu()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_no_fault(tmp_path, monkeypatch, hidden):
    driver(tmp_path, "535.104.05")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert unusable_gpu() is None


@pytest.mark.parametrize("lost", [None, "rank 0 is lost"])
def test_nccl_that_does_not_start_is_a_fault_of_this_machine_unless_a_peer_is_lost(monkeypatch, lost):
    def fail(*_, **__):
        raise dist.DistBackendError(
            "NCCL error in: NCCLUtils.hpp:268, unhandled system error, NCCL version 2.21.5\nncclSystemError: a call"
            " failed.\nLast error:\nError while creating shared memory segment /dev/shm/nccl-a (size 9637888)\n"
        )

    monkeypatch.setattr(dist, "init_process_group", fail)
    with pytest.raises(EnvironmentFault if lost is None else dist.DistBackendError) as raised:
        heartbeat = SimpleNamespace(rank=1, world_size=2, find_lost=lambda: lost)
        distributed._connect(heartbeat, None, torch.device("cpu"), 120.0)
    if lost is None:
        assert "NCCL doesn't start on " in str(raised.value)
        assert ": Error while creating shared memory segment /dev/shm/nccl-a (size 9637888); see " in str(raised.value)


@pytest.mark.parametrize("cuda", [False, True])
def test_nccl_waits_longer_than_the_heartbeat_and_knows_its_gpu(gpus, monkeypatch, cuda):
    gpus(2 * cuda)
    asked, heard = {}, {}

    class Silent(Heartbeat):
        def __init__(self, store, rank, world_size, timeout_s, stop) -> None:
            self.rank, self.world_size = rank, world_size
            heard.update(timeout_s=timeout_s)

        def await_all(self, timeout_s):
            """All are there."""

    monkeypatch.setattr(distributed, "Heartbeat", Silent)
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([(None, 1, 2)]))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **more: asked.update(more, backend=backend))
    distributed._connect(*distributed._join(2, 120.0, None), choose_device("auto", 1, 2), 120.0)
    assert heard["timeout_s"] == 120
    assert asked["timeout"] == timedelta(seconds=180 if cuda else 120)
    assert asked["backend"] == ("cpu:gloo,cuda:nccl" if cuda else "gloo")
    assert asked.get("device_id") == (torch.device("cuda:1") if cuda else None)


def test_tf32_is_said_as_it_is():
    matmul, before = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32
    try:
        for allowed, word in ((True, "on"), (False, "off")):
            matmul.allow_tf32 = allowed
            assert devices.float32_precision().endswith(f"matrix products {word}")
    finally:
        matmul.allow_tf32 = before
