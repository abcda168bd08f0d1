import pytest

from scripts.benchmarks import roofline


@pytest.fixture
def small_roofline(monkeypatch):
    """Rates of this machine from sizes so small that they mean nothing."""
    for name, value in {"CONVOLVED": (16, 8, 16), "MULTIPLIED": 32, "COPIED": 1024, "ROUNDS": 3, "WARMUP": 1}.items():
        monkeypatch.setattr(roofline, name, value)
