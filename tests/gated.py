"""train.py with steps that wait for a file, so that a test decides what happens between which steps.

Usage: gated.py FILE [OPTION of train.py...]. FILE holds the number of steps that may be made; a signal opens the gate
for good, so that a process that is asked to stop isn't held.
"""

import sys
import threading
import time
from pathlib import Path

import train
from engine.training.trainer import Trainer
from utils.signals import StopRequest

signalled = threading.Event()
free_step, handle = Trainer.step, StopRequest._handle


def open_and_handle(self: StopRequest, number: int, frame: object) -> None:
    """`StopRequest._handle`, which also opens the gate."""
    signalled.set()
    handle(self, number, frame)


def step(self: Trainer, batches: list[dict]) -> tuple:
    """`Trainer.step` once the gate is open."""
    while self.state.step >= int(gate.read_text()) and not signalled.is_set():
        time.sleep(0.02)
    return free_step(self, batches)


if __name__ == "__main__":
    gate = Path(sys.argv[1])
    Trainer.step, StopRequest._handle = step, open_and_handle
    sys.exit(train.main(sys.argv[2:]))
