"""Synchronised norms: two processes with parts of a batch are one process with all of it."""

import copy
from itertools import chain

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import network
from engine.checkpoint.snapshot import load_snapshot
from network.fusing import fuse_for_inference
from network.parts.sync_norm import SyncNorm
from tests.conftest import make_scenes, shake, train_args
from tests.processes import launch
from tests.test_distributed import losses

UNEVEN = [(2, 4, 5, 6), (1, 4, 3, 7)]
POOLED = [(1, 4, 1, 1), (1, 4, 1, 1)]  # plain norms can't train on these
WIDE, HALF = torch.float64, torch.bfloat16
# shapes on the two processes, dtype, layout, momentum, mean over standard deviation, tolerance
CASES = [
    (UNEVEN, WIDE, torch.contiguous_format, 0.1, 1, 1e-12),
    (UNEVEN, WIDE, torch.channels_last, None, 1, 1e-12),
    (POOLED, WIDE, torch.contiguous_format, 0.3, 1, 1e-12),
    (UNEVEN, torch.float32, torch.channels_last, 0.1, 300, 1e-3),  # as far as the rounding of x * scale + shift goes
    (UNEVEN, HALF, torch.contiguous_format, 0.1, 1, 2e-2),
    (UNEVEN, HALF, torch.channels_last, 0.1, 1, 2e-2),
]


def joined(parts: list[Tensor]) -> Tensor:
    """The batch (1,C,1,L) of float64 that holds the values of all parts (N,C,H,W)."""
    return torch.cat([part.movedim(1, 0).flatten(1) for part in parts], 1)[None, :, None].to(WIDE)


def layer_on_two_processes() -> None:
    """One of two processes: each case of a norm equals `nn.BatchNorm2d` in float64 on the joined batch."""
    dist.init_process_group("gloo")
    reduce, calls = dist.all_reduce, []
    dist.all_reduce = lambda tensor: calls.append(tensor.numel()) or reduce(tensor)
    for shapes, dtype, layout, momentum, offset, tolerance in CASES:
        torch.manual_seed(1)
        inputs, gradients = ([torch.randn(shape, dtype=dtype) for shape in shapes] for _ in range(2))
        inputs = [(x + offset).to(memory_format=layout) for x in inputs]
        plain = shake(nn.Sequential(nn.BatchNorm2d(4, momentum=momentum)).double())
        norm = network.synchronise_norms(copy.deepcopy(plain).to(WIDE if dtype == WIDE else torch.float32))
        whole = joined(inputs).requires_grad_()
        expected = plain(whole)
        expected.backward(joined(gradients))

        x = inputs[dist.get_rank()].requires_grad_()
        calls.clear()
        out = norm(x)
        assert calls == [2 * 4 + 1]
        out.backward(gradients[dist.get_rank()])
        assert calls == [2 * 4 + 1, 2 * 4]
        assert out.dtype == x.grad.dtype == dtype and out.stride() == x.grad.stride() == x.stride()
        sizes = [x[:, 0].numel() for x in inputs]
        for found, wanted in ((out, expected), (x.grad, whole.grad)):
            own = wanted.split(sizes, dim=-1)[dist.get_rank()]
            torch.testing.assert_close(joined([found]), own, rtol=tolerance, atol=tolerance)
        exact = 1e-12 if dtype == WIDE else 1e-5  # sums over many values
        for one, other in zip(norm.buffers(), plain.buffers(), strict=True):
            torch.testing.assert_close(one, other.to(one.dtype), rtol=exact, atol=exact)
        for one, other in zip(norm.parameters(), plain.parameters(), strict=True):
            reduce(one.grad)
            torch.testing.assert_close(one.grad.double(), other.grad, rtol=tolerance, atol=tolerance)
    dist.destroy_process_group()


def test_a_norm_on_two_processes_is_one_on_the_joined_batch():
    done = launch([layer_on_two_processes], processes=2)
    assert done.returncodes == [0, 0], done.stderr


def loss_of(outputs: dict, labels: Tensor) -> Tensor:
    maps = [outputs["logits"], *outputs["aux"]]
    return sum(F.cross_entropy(x, F.interpolate(labels[:, None], x.shape[-2:])[:, 0].long()) for x in maps)


def model_on_two_processes(recompute: bool) -> None:
    """One of two processes with 2 crops each: a step in float64 is that of one process with 4."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, 64, 64, dtype=WIDE), torch.randint(0, 4, (4, 64, 64)).double()
    plain = shake(network.build_model("fenet_tiny", 4, channels=8, dropout=0.0)).double().train()
    model = network.synchronise_norms(copy.deepcopy(plain))
    if recompute:
        network.checkpoint_activations(model)
    expected = loss_of(plain(images), labels)
    expected.backward()
    rank, parallel = dist.get_rank(), DistributedDataParallel(model)
    loss = loss_of(parallel(images[2 * rank :][:2]), labels[2 * rank :][:2])
    loss.backward()
    loss = loss.detach() / 2
    dist.all_reduce(loss)
    found, wanted = (
        [value, *(p.grad for p in one.parameters()), *one.buffers()]
        for value, one in ((loss, model), (expected.detach(), plain))
    )
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    dist.destroy_process_group()


@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_on_two_processes_is_one_on_all_crops(recompute):
    done = launch([model_on_two_processes, recompute], processes=2)
    assert done.returncodes == [0, 0], done.stderr


def compiled_on_two_processes() -> None:
    """One of two processes: the model with synchronised norms is one graph, with the gradients of the eager one."""
    import torch._dynamo
    from torch._dynamo.utils import counters

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = network.synchronise_norms(network.build_model("fenet_tiny", 4, channels=16, dropout=0.0)).train()
    model = model.to(memory_format=torch.channels_last)
    norms = sum(isinstance(module, SyncNorm) for module in model.modules())
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(dist.get_rank())
    images = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    labels, left = torch.randint(0, 4, (2, 64, 64)).float(), []
    for run in (model, torch.compile(model, backend="eager", dynamic=False)):
        model.load_state_dict(before)
        model.zero_grad()
        loss_of(run(images), labels).backward()
        left.append([value.clone() for value in (*(p.grad for p in model.parameters()), *model.buffers())])
    torch.testing.assert_close(*left, rtol=1e-4, atol=1e-5)
    assert norms > 20 and counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_compiled_model_is_one_graph():
    done = launch([compiled_on_two_processes], processes=2)
    assert done.returncodes == [0, 0], done.stderr


@pytest.mark.slow
def test_train_py_on_two_processes_has_the_statistics_of_one(tmp_path):
    data = make_scenes(tmp_path / "data", 13)
    same = ("--dropout", "0", "--no-aux", "--max_steps", "1", "--class_uniform_pct", "0", "--syncbn", "--amp", "off")
    one = launch(["train.py", *train_args(data, tmp_path / "one", *same, "--bs_mult", "4")])
    two = launch(["train.py", *train_args(data, tmp_path / "two", *same, "--bs_mult", "2")], processes=2)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert "--syncbn: there is one process" in one.stdout and "norms: sync" in two.stdout
    assert losses(two.stdout) == pytest.approx(losses(one.stdout), rel=1e-4)
    a, b = (load_snapshot(tmp_path / name / "run" / "last.pth")["model"] for name in ("one", "two"))
    for name in filter(lambda name: "running_" in name, a):
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_frozen_norms_talk_to_nobody_and_are_plain():
    plain = shake(nn.Sequential(nn.BatchNorm2d(3))).eval()
    norm, x = network.synchronise_norms(copy.deepcopy(plain)), torch.randn(2, 3, 4, 4)
    norm(x).square().sum().backward()  # there is no process group that it could talk to
    plain(x).square().sum().backward()
    for one, other in zip(*(chain(x.parameters(), x.buffers()) for x in (norm, plain)), strict=True):
        assert torch.equal(one, other) and (one.grad is None or torch.equal(one.grad, other.grad))


class NormWithActivation(nn.BatchNorm2d):
    """As timm's."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


def test_converted_norms_keep_weights_and_activations_and_are_fused():
    model = shake(nn.Sequential(nn.Conv2d(3, 4, 3), NormWithActivation(4)))
    model.append(nn.BatchNorm2d(4, affine=False)).eval()
    keys, x = list(model.state_dict()), torch.randn(2, 3, 8, 8)
    before = model(x)
    assert network.synchronise_norms(model) is model and list(model.state_dict()) == keys
    assert [type(module) for module in model] == [nn.Conv2d, SyncNorm, nn.BatchNorm2d]
    assert torch.equal(model(x), before)
    fused = fuse_for_inference(model)
    assert not any(isinstance(module, SyncNorm) for module in fused.modules())
    torch.testing.assert_close(fused(x), before)
