"""Mistakes made by hand turn the harness red, at their line."""

import inspect

import pytest

from tests.fakecuda import faults
from tests.fakecuda.counts import excess
from tests.fakecuda.harness import carry_out, task

LINE = "--arch fenet_tiny --amp bf16 --crop_size 256"
FLOWS = "--arch sfnet_lite_r18 --channels 16 --amp bf16 --crop_size 128"
LINES = {
    "normed_in_float32": f"{LINE} --norm group",
    "sampled_by_cudnn": FLOWS,
    "sampled_in_random_order": f"{FLOWS} --deterministic",
}
WITHOUT_A_LINE = {
    "moments_of_other_strides": "strides: momentum_buffer of ",
    "sampled_in_random_order": "not deterministic: grid_sampler_2d_backward, at engine/training/step.py",
    "with_an_unused_parameter": "no gradient: unused",
}
COSTLY = "copied_often"


def marked(name: str) -> tuple[str, str]:
    """What has to be found, the comment of a fault's line, and where."""
    lines, start = inspect.getsourcelines(faults.FAULTS[name])
    number, line = next((start + i, line) for i, line in enumerate(lines) if "  # " in line)
    return line.split("  # ")[1].strip(), f", at tests/fakecuda/faults.py:{number} ({name})"


@pytest.mark.slow
def test_each_fault_is_found_at_its_line(guard, tmp_path):
    names = list(faults.FAULTS)
    tasks = {name: task("train", *LINES.get(name, LINE).split(), fault=name) for name in names}
    results = carry_out(tasks | {"none": task("train", *LINE.split())}, guard, tmp_path)
    assert not results["none"]["faults"]
    for name in set(names) - {COSTLY}:
        kind, place = (WITHOUT_A_LINE[name], "") if name in WITHOUT_A_LINE else marked(name)
        found = results[name]["faults"]
        assert any(fault.startswith(kind) and place in fault for fault in found), (name, kind, place, found)
    assert len(excess(results[COSTLY]["counts"], results["none"]["counts"])) > 1
