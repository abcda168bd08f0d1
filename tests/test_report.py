"""report.html of eval.py and train.py: when it is written, what it is about, and that a run outlives its failure."""

import json
import re
import shutil

import pytest

import eval as evaluation
import train
from engine.checkpoint.snapshot import load_snapshot
from tests.conftest import eval_args, train_args
from tests.processes import launch
from utils.errors import EnvironmentFault


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', page)


def test_report_of_an_evaluation(trained, tmp_path):
    assert evaluation.main(eval_args(trained.best, trained.data, tmp_path, "--report")) == 0
    page, metrics = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "metrics.json").read_text())
    assert sections(page) == [
        *("scores", "training", "classes", "confusions", "boundaries", "sizes", "images", "options")
    ]
    assert metrics["snapshot_sha256"] in page and f"{100 * metrics['mean_iou']:.2f}" in page
    assert "fenet_tiny on folder val" in page and "best: epoch" in page
    assert page.count('class="image"') == 4 and page.count("data:image/") == 16


def test_whatever_lies_beside_the_snapshot(trained, tmp_path):
    snapshot, beside = tmp_path / "model.pth", tmp_path / "metrics.jsonl"
    shutil.copy(trained.best, snapshot)
    beside.mkdir()
    assert evaluation.main(eval_args(snapshot, trained.data, tmp_path / "out", "--report")) == 0
    assert "training" not in sections((tmp_path / "out" / "report.html").read_text())
    beside.rmdir()
    beside.write_bytes(b'\xff\x00\n{"epoch": 1e999, "train_loss": 1e999}\n')
    assert evaluation.main(eval_args(snapshot, trained.data, tmp_path / "out", "--report")) == 0
    assert "No epoch is finished yet" in (tmp_path / "out" / "report.html").read_text()


def test_no_report_unless_asked_for(trained, tmp_path):
    assert evaluation.main(eval_args(trained.best, trained.data, tmp_path)) == 0
    assert not (tmp_path / "report.html").exists()


def test_processes_change_nothing_but_their_folder(trained, tmp_path):
    for name, processes in (("a", 1), ("b", 2)):
        done = launch(["eval.py", *eval_args(trained.best, trained.data, tmp_path / name, "--report")], processes)
        assert done.returncode == 0, done.stderr
    pages = [(tmp_path / name / "report.html").read_text().replace(str(tmp_path / name), "OUT") for name in "ab"]
    assert pages[0] == pages[1]


def test_training_leaves_the_report_of_its_best_epoch(trained):
    page = (trained.folder / "report.html").read_text()
    assert sections(page) == [
        *("scores", "training", "classes", "confusions", "boundaries", "sizes", "images", "options")
    ]
    assert "training leaves them out; eval.py --report has them" in page
    best = load_snapshot(trained.best)["score"]
    assert f", epoch {best['epoch']} of run</h1>" in page and f"{100 * best['mean_iou']:.2f}" in page
    rows = (trained.folder / "metrics.jsonl").read_text().splitlines()
    assert page.count("<title>training, all terms, ") == len(rows) == 8
    assert f"best: epoch {best['epoch']}" in page


def test_fresh_start_moves_the_old_report_aside(scenes, tmp_path):
    assert train.main(train_args(scenes, tmp_path, "--report", "--max_epoch", "1")) == 0
    page = (tmp_path / "run" / "report.html").read_bytes()
    assert train.main(train_args(scenes, tmp_path, "--resume", "never", "--max_steps", "1")) == 0
    assert not (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "replaced_1" / "report.html").read_bytes() == page


def test_training_without_a_report(scenes, tmp_path):
    assert train.main(train_args(scenes, tmp_path, "--test_mode")) == 0
    assert not (tmp_path / "run" / "report.html").exists() and (tmp_path / "run" / "best.pth").exists()


@pytest.mark.parametrize("fault", [EnvironmentFault("no space left"), RuntimeError("a mistake of ours")])
def test_run_outlives_a_report_that_fails(scenes, tmp_path, capfd, monkeypatch, fault):
    def fails(*args, **kwargs):
        raise fault

    monkeypatch.setattr("engine.training.validator.write_report", fails)
    assert train.main(train_args(scenes, tmp_path, "--report", "--max_epoch", "1")) == 0
    run = tmp_path / "run"
    assert f"the run continues without report: {type(fault).__name__}: {fault}" in capfd.readouterr().out
    assert load_snapshot(run / "last.pth")["training"]["state"]["epoch"] == 1
    assert (run / "best.pth").exists() and not (run / "report.html").exists()


def test_split_without_labels_has_no_report(trained, tmp_path, capfd):
    root = shutil.copytree(trained.data, tmp_path / "data")
    shutil.copytree(trained.data / "images" / "val", root / "images" / "test")
    argv = eval_args(trained.best, root, tmp_path / "out", "--split", "test", "--dump_images", "--report")
    assert evaluation.main(argv) == 2 and "there is no score" in capfd.readouterr().err
