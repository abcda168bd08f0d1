"""train.py with steps that wait for a file, so that a test decides what happens between which steps.

Usage: gated.py FILE [OPTION of train.py...]. FILE holds the number of steps that may be made; a signal opens the gate
for good, so that a process that is asked to stop isn't held.
"""

import os
import select
import signal
import sys
import time
from pathlib import Path

import train
from engine.training.trainer import Trainer

read_end, write_end = os.pipe()
os.set_blocking(write_end, False)
signal.set_wakeup_fd(write_end)
free_step = Trainer.step


def step(self: Trainer, batches: list[dict]) -> tuple:
    """`Trainer.step` once the gate is open."""
    while self.state.step >= int(gate.read_text()) and not select.select([read_end], [], [], 0)[0]:
        time.sleep(0.02)
    return free_step(self, batches)


if __name__ == "__main__":
    gate = Path(sys.argv[1])
    Trainer.step = step
    sys.exit(train.main(sys.argv[2:]))
