"""The encoder's stem, which pools before the ReLU while it trains."""

import torch
import torch.nn.functional as F

from network.encoders.resnet import BasicBlock, DeepStemResNet


def test_the_stem_trains_as_if_the_relu_came_first():
    torch.manual_seed(0)
    encoder = DeepStemResNet(block=BasicBlock, layers=(1, 1, 1, 1), width=8)
    x = torch.randn(2, 3, 40, 56).round(decimals=1)

    def written(x):
        return F.max_pool2d(F.relu(encoder.bn1(encoder.conv1(x))), 3, 2, padding=1)

    results = []
    for stem in (encoder.stem, written):
        encoder.zero_grad()
        y = stem(x)
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        results.append([y, *(p.grad for p in (*encoder.conv1.parameters(), *encoder.bn1.parameters()))])
    assert all(map(torch.equal, *results))
    encoder.eval()
    assert torch.equal(encoder.stem(x), written(x))
