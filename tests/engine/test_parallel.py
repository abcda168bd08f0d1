"""Norms and gradients of several processes."""

import sys
import textwrap
import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn

import network
from engine.training import parallel
from engine.training.parallel import choose_norm, import_apex, order_depthwise_weights, wrap_parallel
from tests.processes import launch
from utils.distributed import Process
from utils.errors import EnvironmentFault, OptionError

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
ONE, SEVERAL, GPUS = Process(0, 1, CPU), Process(0, 2, CPU), Process(0, 2, CUDA)


@pytest.mark.parametrize(
    ("wanted", "process", "norm"),
    [
        (None, ONE, "plain"),
        (None, SEVERAL, "plain"),
        (None, GPUS, "sync"),
        ("plain", GPUS, "plain"),
        ("sync", GPUS, "sync"),
        ("sync", SEVERAL, "sync"),
        ("sync", ONE, "plain"),  # the same there
        ("group", GPUS, "group"),
        ("frozen", SEVERAL, "frozen"),
    ],
)
def test_norm(wanted, process, norm):
    assert choose_norm(wanted, process) == norm


def test_one_process_needs_no_wrapper():
    model = nn.Conv2d(1, 1, 1)
    assert wrap_parallel(model, ONE, "apex", compress=True) is model


@pytest.mark.parametrize(("process", "backend"), [(SEVERAL, "torch"), (GPUS, "apex")])
def test_compression_that_can_not_be_had(process, backend):
    with pytest.raises(OptionError, match="--grad_compression"):
        wrap_parallel(nn.Conv2d(1, 1, 1), process, backend, compress=True)


def test_depthwise_weights_keep_their_values():
    layer = nn.Conv2d(3, 3, (5, 3), groups=3).to(memory_format=torch.channels_last)
    before, other = layer.weight.clone(), nn.Conv2d(3, 2, 3).to(memory_format=torch.channels_last)
    strides = other.weight.stride()
    order_depthwise_weights(nn.Sequential(layer, other))
    assert torch.equal(layer.weight, before) and layer.weight.stride() == (15, 15, 3, 1)
    assert other.weight.stride() == strides


STUB = """
    from torch import nn

    class DistributedDataParallel(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module
"""


@pytest.fixture
def apex(tmp_path, monkeypatch):
    """Makes a package called apex of some files, first in the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / "apex" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "apex" / name).write_text(textwrap.dedent(text))

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "apex"]:
        del sys.modules[name]


def test_nvidia_s_apex_wraps(apex):
    apex({"__init__.py": "", "parallel/__init__.py": STUB})
    model = nn.Conv2d(1, 1, 1)
    wrapped = wrap_parallel(model, SEVERAL, "apex")
    assert type(wrapped).__module__ == "apex.parallel" and wrapped.module is model


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"__init__.py": "raise SystemExit('imported')"}, "PyPI's unrelated package"),
        ({"__init__.py": "", "optimizers/__init__.py": ""}, "no apex.parallel, which NVIDIA removed in release 25.07"),
        ({"__init__.py": "import no_such_extension", "parallel/__init__.py": ""}, "no_such_extension"),
    ],
)
def test_what_is_called_apex_and_can_not_be_used(apex, files, words):
    apex(files)
    with pytest.raises(EnvironmentFault, match=words) as fault:
        import_apex()
    assert "\n" not in str(fault.value) and "leave --ddp_backend out" in str(fault.value)


def test_no_apex(monkeypatch):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="not installed"):
        import_apex()


def step_with_warnings_as_errors(static_graph: bool) -> None:
    """One of three processes: equal weights at the start, equal gradients of three equal steps."""
    warnings.simplefilter("error")
    dist.init_process_group("gloo")
    model = network.build_model("fenet_tiny", 4, channels=16, boundary=True).to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    process = Process(dist.get_rank(), 3, CPU)
    gradients = []
    wrapped = wrap_parallel(model, process, static_graph=static_graph)
    if process.rank == 0:  # whose weights the others get
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for _ in range(3):
        model.zero_grad()
        torch.manual_seed(process.rank)
        out = wrapped(torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last))
        (out["logits"].square().mean() + out["boundary"].mean() + sum(x.mean() for x in out["aux"])).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert all(torch.equal(gradients[0], later) for later in gradients)  # added up in the same order from the first
    dist.destroy_process_group()


@pytest.mark.parametrize("static_graph", [True, False])
def test_three_processes_without_a_warning(static_graph):
    done = launch([step_with_warnings_as_errors, static_graph], processes=3)
    assert done.returncodes == [0, 0, 0], done.stderr
