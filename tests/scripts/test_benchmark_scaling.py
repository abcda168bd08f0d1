import json

import pytest

from scripts import benchmark


@pytest.mark.slow
def test_scaling_of_two_processes(tmp_path, small_roofline):
    out = tmp_path / "a.json"
    argv = ["scaling", "--json", str(out), "--arch", "fenet_tiny", "--size", "64,64", "--rounds", "2", "--warmup", "0"]
    assert benchmark.main(argv) == 0
    result = json.loads(out.read_text())
    one, two = (result["arms"][name]["median"] for name in ("one", "two"))
    assert result["efficiency"] == pytest.approx(one / two) and result["ratio"] == pytest.approx(2 * one / two)
    assert result["arms"]["two"]["roofline_share"] > 0 and result["roofline"]["one"]["works"]["one"]["operations"] > 1e8
    assert result["max_error"] < 1e-5 and result["hardware"]["device"] == "cpu"


@pytest.mark.parametrize(("flag", "value"), [("--arch", "nope"), ("--amp", "fp16")])
def test_what_no_process_could_do_is_refused(flag, value, tmp_path, capsys):
    assert benchmark.main(["scaling", "--json", str(tmp_path / "a.json"), flag, value]) == 2
    assert flag in capsys.readouterr().err
