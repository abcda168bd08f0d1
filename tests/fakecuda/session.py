"""A process of the harness: loads the guard, runs what it is asked for, and leaves the results in a JSON file.

The guard has to be there before PyTorch, and changes the process for good; so it is a process of its own.
Usage: python -m tests.fakecuda.session GUARD TASKS RESULTS
"""

import ctypes
import json
import sys
import time
import traceback
from pathlib import Path


def main(guard: str, tasks: str, results: str) -> int:
    """Carry out tasks (name -> function of `runs`, arguments, keywords, fault of `faults`, if any)."""
    ctypes.CDLL(guard, mode=ctypes.RTLD_GLOBAL)
    from tests.fakecuda.device import pretend

    pretend()
    from tests.fakecuda import faults, runs

    done = {}
    for name, task in json.loads(Path(tasks).read_text()).items():
        start = time.process_time()
        try:
            with faults.injected(task["fault"]):
                result = getattr(runs, task["run"])(*task["args"], **task["options"]).to_dict()
        except Exception:
            result = runs.Result([traceback.format_exc()]).to_dict()
        done[name] = result | {"seconds": time.process_time() - start}
    Path(results).write_text(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
