"""Adaptive average pooling as products, for one number of bins and for several at once."""

import pytest
import torch
import torch.nn.functional as F

from network.parts.layers import _area_matrix, adaptive_average


@pytest.mark.parametrize("size", [(12, 12), (7, 13), (32, 5)])
def test_products_are_pytorchs_pooling(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    for bins in (1, 2, 3, 5):
        expected = F.adaptive_avg_pool2d(x, bins)
        torch.testing.assert_close(adaptive_average(x, bins), expected)
        at_once = (_area_matrix(bins, *size, x) @ x.flatten(2).mT).mT.unflatten(2, (bins, bins))
        torch.testing.assert_close(at_once, expected)
