"""`--kernels` where Triton can not run."""

import sys

import pytest
import torch

import network
import train
from config import parse_train
from loss import LossOptions, build_loss
from tests.conftest import train_args
from utils.errors import EnvironmentFault, OptionError
from utils.kernels import check_kernels

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def on_no_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.fixture
def without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)  # an import of it fails


def test_triton_on_a_cpu_is_refused():
    check_kernels("torch", CPU)
    with pytest.raises(OptionError, match="--kernels triton.*cpu.*--kernels torch"):
        check_kernels("triton", CPU)


def test_train_refuses_before_it_begins(scenes, tmp_path, capsys):
    assert train.main(train_args(scenes, tmp_path, "--kernels", "triton")) == 2
    assert "--kernels triton" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ask",
    [
        lambda: check_kernels("triton", CUDA),
        lambda: build_loss(LossOptions(loss="ohem"), 3, kernels="triton"),
        lambda: network.use_kernels(torch.nn.Identity(), "triton"),
    ],
)
def test_a_missing_package_is_named(ask, without_triton):
    with pytest.raises(EnvironmentFault, match="--kernels triton.*pip install triton"):
        ask()


def test_without_triton_all_else_works(without_triton):
    check_kernels("torch", CUDA)
    assert build_loss(LossOptions(loss="ohem"), 3, kernels="torch").criterion is not None
    network.use_kernels(torch.nn.Identity(), "torch")
    assert parse_train([]).compute.kernels == "torch"
