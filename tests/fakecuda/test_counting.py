"""The harness counts what kernels read and write, no more."""

import math

import torch

from tests.fakecuda.counting import Counts, tensors, values_read

aten = torch.ops.aten
X = torch.randn(2, 3, 8, 8)
POOLED, PLACES = aten.max_pool2d_with_indices(X, [3, 3], [2, 2], [1, 1])
LABELS, WEIGHTS, TOTAL = torch.zeros(2, 8, 8, dtype=torch.int64), torch.ones(3), torch.tensor(128.0)


def test_of_an_argument_that_only_tells_a_shape_no_value_is_read():
    """Its values make no difference, and the counts leave it out."""
    pooling = aten.max_pool2d_with_indices_backward.default, [POOLED, X, [3, 3], [2, 2], [1, 1], [1, 1], False, PLACES]
    loss = aten.nll_loss2d_backward.default, [torch.ones(()), X, LABELS, WEIGHTS, 1, 255, TOTAL]
    for func, args in (pooling, loss):
        other = [torch.full_like(X, math.nan) if arg is X else arg for arg in args]
        assert torch.equal(func(*args), func(*other))
        assert not any(arg is X for arg in values_read(func, args, {}))
        assert len(values_read(func, args, {})) == len(tensors(args)) - 1


def test_a_result_is_written_and_not_read():
    counts, out, half = Counts(), torch.empty(100), torch.ones(100, dtype=torch.bfloat16)
    counts.add(aten.add.out, (half, half), {"out": out}, out, [out])
    counts.add(aten.fill_.Scalar, (out, 1.0), {}, out, [out])
    assert counts.bytes == 100 * (2 + 2 + 4) + 100 * 4 and counts.kernels == 2


def test_of_what_is_picked_from_no_more_is_read_than_picked():
    counts, index = Counts(), torch.zeros(2, 1, 8, 8, dtype=torch.int64)
    counts.add(aten.gather.default, (X, 1, index), {}, None, [X[:, :1]])
    assert counts.bytes == index.numel() * (8 + 4 + 4)
    counts.add(aten.index_select.default, (X, 1, index[0, 0, 0]), {}, None, [X.repeat(1, 3, 1, 1)[:, :8]])
    assert counts.bytes == index.numel() * (8 + 4 + 4) + 4 * X.numel() + 8 * 8 + 4 * 8 * X[:, :1].numel()
