import json

import pytest

from scripts.benchmarks import gpu_facts, step_facts, two_on_one

ALL = ("same", "skipped", "step", "filter", "loss", "fuse", "deterministic")


def facts(tmp_path, *argv: str) -> tuple[int, list[dict]]:
    """Exit code and rows of facts that are found on the CPU."""
    out = tmp_path / "facts.json"
    code = gpu_facts.main(["--json", str(out), "--device", "cpu", *argv])
    result = json.loads(out.read_text())
    assert result["hardware"]["device"] == "cpu" and result["command"].endswith(" ".join(["--device cpu", *argv]))
    return code, result["facts"]


@pytest.mark.slow
def test_facts_in_small(tmp_path):
    code, rows = facts(tmp_path)
    assert code == 0 and all(row["ok"] for row in rows)
    assert list(dict.fromkeys(row["fact"].split()[0] for row in rows)) == list(ALL)


def test_a_fact_that_fails_is_kept_and_the_others_are_found(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("CUDA error: no kernel image\nmore")

    monkeypatch.setattr(step_facts, "_same", broken)
    monkeypatch.setattr(step_facts, "match_strides", lambda optimizer: None)  # as it was before it was mended
    code, rows = facts(tmp_path, "same", "skipped")
    assert code == 6 and rows[0]["error"] == "RuntimeError: CUDA error: no kernel image"
    wrong = [row["fact"] for row in rows if not row["ok"]]
    assert wrong[2:] == [f"skipped {name}, state of the other layout" for name in ("sgd", "adam", "adamw")]
    assert "facts: 5 of 8 failed" in capsys.readouterr().err


def test_an_unknown_part(tmp_path, capsys):
    assert gpu_facts.main(["--json", str(tmp_path / "a.json"), "nonsense"]) == 2
    assert "nonsense: no such part" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_are_one_with_all_crops(tmp_path):
    out = tmp_path / "two.json"
    assert two_on_one.main(["--json", str(out), "--device", "cpu"]) == 0
    assert 0 < max(json.loads(out.read_text())["errors"].values()) < 1e-3
