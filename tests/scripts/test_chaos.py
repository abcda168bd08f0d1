"""The short form of `make chaos`."""

import json

import pytest

from tests.campaigns import chaos


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    # this seed stops one worker in a validation, and kills the launcher and a worker
    argv = ["--terms", "1", "--kills", "2", "--seed", "6", "--out", str(tmp_path / "out")]
    assert chaos.main([*argv, "--json", str(tmp_path / "chaos.json")]) == 0
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["faults"] == [] and found["digest_disturbed"] == found["digest"]
    assert [(term["phase"], term["target"]) for term in found["terms"]] == [("validation", "rank 1")]
    assert len(found["kills"]) == 2 and all(kill["lost_steps"] <= found["save_every"] for kill in found["kills"])


@pytest.mark.parametrize("argv", [["--kills", "-1"], ["--terms", "x"]])
def test_wrong_options(argv, capsys):
    assert chaos.main(argv) == 2
    assert capsys.readouterr().err.startswith("error: ")
