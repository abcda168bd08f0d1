"""`--compile` on a GPU that isn't there: models of every kind of part are one graph, with synchronised norms too."""

import pytest

from loss import list_losses
from network.registry import list_models
from tests.fakecuda.harness import carry_out, faults_of, task
from tests.fakecuda.matrix import families


@pytest.mark.slow
def test_models_and_losses_are_traced_without_a_break(guard, tmp_path):
    smallest = [names[0] for names in families(list_models()).values()]
    smallest.append("fenet_r50")  # whose blocks are bottlenecks
    tasks = {f"{arch}, synchronised": task("compiled", arch, "ohem", True) for arch in smallest}
    tasks |= {f"{loss}, plain norms": task("compiled", "fenet_tiny", loss, False) for loss in list_losses()}
    tasks["group norms"] = task("compiled", "fenet_tiny", "ohem", False, norm_groups=4)
    broken = task("compiled", "fenet_tiny", "ce", False, fault="indexed_by_a_mask")
    results = carry_out(tasks | {"broken": broken}, guard, tmp_path)
    assert any(fault.startswith("break: ") for fault in results.pop("broken")["faults"])
    assert len(results) == len(smallest) + len(list_losses()) + 1
    assert not faults_of(results)
