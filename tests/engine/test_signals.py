import signal

import pytest

from engine.signals import StopRequest


def test_repeats_are_one_request_and_handlers_come_back(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.on_any_rank()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # as torchrun and a scheduler do within moments
        assert stop.on_any_rank()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_later_signal_stops_at_once(monkeypatch):
    monkeypatch.setattr(StopRequest, "REPEAT_S", -1.0)
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(signal, "SIG_DFL", signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
