"""Validation, evaluation and exported graphs on a GPU that isn't there."""

import pytest

from tests.fakecuda import rules
from tests.fakecuda.harness import carry_out, faults_of, task

SLIDING = {"inference_mode": "sliding", "crop_size": 100, "scales": (0.5, 1.0), "flip": True}


@pytest.mark.slow
def test_predictions_and_exported_graphs(guard, tmp_path):
    tasks = {
        f"{run} {arch} {options}": task(run, arch, **options)
        for arch in ("fenet_tiny", "sfnet_r18", "sfnet_lite_r18")
        for run, options in (
            ("validate", {"amp": "bf16"}),
            ("predict", {"amp": "bf16", **SLIDING}),
            ("predict", {"merge": "logit"}),
            ("predict", {"amp": "fp16", "merge": "exp_softmax", "base_size": 320}),
            ("export", {}),
        )
    }
    results = carry_out(tasks, guard, tmp_path)
    assert not faults_of(results)
    assert all(result["counts"]["multiply_adds"] > 1e9 for result in results.values())
    needed = {tuple(row) for result in results.values() for row in result["excused"]}
    assert set(rules.WAITS_OF_PREDICTION) == needed, "these rows of rules.WAITS_OF_PREDICTION can go"
