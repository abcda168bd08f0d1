"""Work that each machine of a job needs done once: its disk may be its own, or shared with the others."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from utils.distributed import gather_objects
from utils.errors import FENetError

T = TypeVar("T")


def node_by_node(body: Callable[[], T]) -> T:
    """Run `body` on rank 0, then on the first process of every other node, then on all others.

    So a download is there when the next ones look for it: on a disk that nodes share it is done once, on disks of
    their own once on each. A fault of one process is raised on all.
    """
    first_of_job = not dist.is_initialized() or dist.get_rank() == 0
    turn = 0 if first_of_job else 1 if os.environ.get("LOCAL_RANK", "0") == "0" else 2
    results: list[T] = []
    for current in range(3):
        fault = None
        if current == turn:
            try:
                results.append(body())
            except FENetError as error:
                fault = error
        for error in gather_objects(fault):
            if error is not None:
                raise error
    return results[0]
