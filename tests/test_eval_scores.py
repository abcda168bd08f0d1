"""eval.py's scores: what it leaves, what it refuses, and going on after it was stopped."""

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
import eval as evaluation
import network
import train
from config import parse_eval
from engine.checkpoint.snapshot import save_snapshot
from engine.evaluation.journal import EvaluationJournal
from engine.inference.predictor import Predictor
from tests.conftest import eval_args, make_scenes, train_args
from tests.processes import launch
from tests.test_bad_input import fails

FILES = ("metrics.json", "per_image.csv", "per_image.npz")


def make_snapshot(path: Path, data: Path, seed: int = 0, value: float | None = None) -> Path:
    """An untrained model for the classes of a `folder` data set; all its last weights are `value`, if given."""
    torch.manual_seed(seed)
    split = datasets.build_split("folder", data, "val", 0)
    model = network.build_model("fenet_tiny", split.classes.num_classes, channels=16)
    if value is not None:
        torch.nn.init.constant_(list(model.head.parameters())[-1], value)
    classes = split.classes.to_dict("folder")
    save_snapshot(path, {"model": model.state_dict(), "config": model.config, "classes": classes})
    return path


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> tuple[Path, Path]:
    """A snapshot, and a data set with 6 images to validate on."""
    base = tmp_path_factory.mktemp("given")
    data = make_scenes(base / "data", 12, ignore=True)
    return make_snapshot(base / "model.pth", data), data


def arguments(given: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    return eval_args(*given, out, "--bootstrap", "20", *more)


def copy_data(given: tuple[Path, Path], folder: Path) -> tuple[Path, Path]:
    """The same snapshot, with a copy of the data that a test may change."""
    shutil.copytree(given[1], folder)
    return given[0], folder


def evaluate(*argv) -> None:
    assert evaluation.main([*argv]) == 0


@contextlib.contextmanager
def stopped_at(image: int) -> Iterator[None]:
    """Evaluations stop before this image."""
    calls, predict = iter(range(100)), Predictor.__call__

    def interrupted(self, images):
        if next(calls) == image:
            raise KeyboardInterrupt
        return predict(self, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "__call__", interrupted)
        yield


@pytest.fixture(scope="module")
def stopped(given, tmp_path_factory) -> Path:
    """What an evaluation that was stopped after 4 of 6 images left."""
    out = tmp_path_factory.mktemp("stopped")
    with stopped_at(4):
        assert evaluation.main(arguments(given, out)) == 130
    return out


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_scores_of_the_split_and_of_every_image(given, tmp_path):
    evaluate(*arguments(given, tmp_path, "--boundary", "--eval_thresholds", "0.01,0.03"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    low, high = metrics["interval"]
    assert low <= metrics["mean_iou"] <= high
    assert list(metrics["boundary"]["f_score"]) == ["0.01", "0.03"]
    assert list(metrics["boundary"]["iou"]["per_class"]) == ["sky", "road", "car", "tree"]
    assert 0 <= metrics["boundary"]["iou"]["mean_iou"] <= 1
    with open(tmp_path / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"{i:03d}" for i in range(6)]
    right = sum(float(row["pixel_accuracy"]) * int(row["labelled_pixels"]) for row in rows)
    assert right / (6 * 44 * 64) == pytest.approx(metrics["pixel_accuracy"])
    assert not (tmp_path / "partial").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--bootstrap", "-1"], ["--bootstrap"]),
        (["--merge", "mean"], ["--merge", "mean"]),
        (["--sliding_overlap", "1"], ["--sliding_overlap 1"]),
        (["--window_batch", "0"], ["--window_batch 0"]),
        (["--eval_thresholds", "0.1,-1"], ["--eval_thresholds"]),
        (["--split_count", "7", "--split_index", "6"], ["--split_count 7", "6 images"]),
        *((["--exp_name", name], ["--exp_name", name]) for name in ("../out", "a/../../out", "/out")),
    ],
)
def test_options_that_cannot_work(given, tmp_path, capfd, more, words):
    fails(capfd, 2, evaluation.main, arguments(given, tmp_path / "in", *more), *words)
    assert not list(tmp_path.rglob("*.*"))


def test_a_stopped_evaluation_resumes(given, tmp_path, capfd):
    whole, out = (arguments(given, tmp_path / name, "--dump_images", "--boundary") for name in ("whole", "out"))
    evaluate(*whole)
    with stopped_at(4):
        assert evaluation.main(out) == 130
    files = {name: tmp_path / "out" / "pred" / f"{name}.png" for name in ("000", "001", "002", "003")}
    assert set(files.values()) == set((tmp_path / "out" / "pred").iterdir())
    assert not (tmp_path / "out" / "metrics.json").exists()

    (tmp_path / "out" / "color" / "001.png").unlink()  # then image 001 isn't finished
    before = {name: path.stat().st_mtime_ns for name, path in files.items()}
    evaluate(*out, "--resume")
    assert "resuming: 3 of 6 images are finished" in capfd.readouterr().out
    assert [name for name, path in files.items() if path.stat().st_mtime_ns != before[name]] == ["001"]
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert not (tmp_path / "out" / "partial").exists()


def test_a_corrupt_image_is_named(given, tmp_path, capfd):
    given, out = copy_data(given, tmp_path / "data"), tmp_path / "out"
    image = given[1] / "images" / "val" / "004.png"
    image.write_bytes(image.read_bytes()[:1000])
    fails(capfd, 3, evaluation.main, arguments(given, out, "--dump_images"), str(image))
    assert [Image.open(path).size for path in (out / "pred").iterdir()] == [(64, 48)] * 4
    assert not (out / "metrics.json").exists()


@pytest.mark.parametrize(
    ("more", "finished"),
    [
        ([], 4),
        (["--bootstrap", "10"], 4),  # has no bearing on an image's result
        (["--flip"], 0),
        (["--boundary"], 0),
        (["--dump_images"], 0),
        (["--snapshot"], 0),  # other weights
    ],
)
def test_only_results_of_the_same_evaluation_are_used(given, stopped, tmp_path, capfd, more, finished):
    if more == ["--snapshot"]:
        more = ["--snapshot", str(make_snapshot(tmp_path / "other.pth", given[1], seed=1))]
    shutil.copytree(stopped, tmp_path / "out")
    evaluate(*arguments(given, tmp_path / "out", *more, "--resume"))
    assert f"resuming: {finished} of 6" in capfd.readouterr().out
    evaluate(*arguments(given, tmp_path / "whole", *more))
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_without_resume_no_result_is_used(given, stopped, tmp_path, capfd):
    shutil.copytree(stopped, tmp_path / "out")
    with stopped_at(1):
        assert evaluation.main(arguments(given, tmp_path / "out")) == 130
    evaluate(*arguments(given, tmp_path / "out", "--resume"))
    assert "resuming: 1 of 6" in capfd.readouterr().out


def test_files_have_to_be_of_the_same_evaluation(given, tmp_path):
    def key(*more: str) -> dict:
        return parse_eval(arguments(given, tmp_path, *more))[0].reproducibility_key()

    assert key("--submission", "a.zip") == key("--submission", "b.zip") != key()
    assert key("--dump_images") != key("--submission", "a.zip")
    assert key("--num_workers", "3", "--max_pixels", "99999") == key()


def evaluate_killed(*argv: str) -> int:
    """An evaluation that is killed once the result of image 4 is kept."""
    add = EvaluationJournal.add

    def killed(self, result):
        add(self, result)
        if result.index == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    EvaluationJournal.add = killed
    return evaluation.main(argv)


def test_killed_and_resumed_on_two_processes(given, tmp_path):
    evaluate(*arguments(given, tmp_path / "whole", "--confidence", "--flip"))
    argv = arguments(given, tmp_path / "out", "--confidence", "--flip")
    assert launch([evaluate_killed, *argv]).returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "metrics.json").exists()
    done = launch(["eval.py", *argv, "--resume"], processes=2)
    assert done.returncode == 0, done.stderr
    assert "resuming: 5 of 6 images are finished" in done.stdout
    assert results(tmp_path / "out") == results(tmp_path / "whole")


@pytest.mark.parametrize("merge", ["prob", "logit", "exp_softmax"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_leave_nothing_but_earlier_ones(given, tmp_path, capfd, merge, value):
    broken, out = make_snapshot(tmp_path / "broken.pth", given[1], value=value), tmp_path / "out"
    out.mkdir()
    (out / "metrics.json").write_text("{}")
    argv = arguments((broken, given[1]), out, "--merge", merge, "--report", "--dump_images", "--flip")
    fails(capfd, 6, evaluation.main, argv, "scores of 000 are not finite")
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.*")] == ["earlier/1/metrics.json"]
    assert (out / "earlier" / "1" / "metrics.json").read_text() == "{}"


def test_the_error_stands_on_a_line_of_its_own(given, tmp_path):
    broken = make_snapshot(tmp_path / "nan.pth", given[1], value=float("nan"))
    done = launch(["eval.py", *arguments((broken, given[1]), tmp_path / "out")])
    assert done.returncode == 6
    assert done.stderr.split("\n")[-2].startswith("error: scores of 000"), done.stderr  # not after a bar's \r


def test_scores_of_an_earlier_run_are_put_aside(given, tmp_path, capfd):
    evaluate(*arguments(given, tmp_path, "--report"))
    first, page = results(tmp_path), (tmp_path / "report.html").read_bytes()
    fails(capfd, 4, evaluation.main, [*arguments(given, tmp_path), "--snapshot", str(tmp_path / "none.pth")], "none")
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
    assert results(tmp_path / "earlier" / "1") == first
    assert (tmp_path / "earlier" / "1" / "report.html").read_bytes() == page
    (tmp_path / "metrics.json").write_text("of a second one")  # every generation is kept
    fails(capfd, 4, evaluation.main, [*arguments(given, tmp_path), "--snapshot", str(tmp_path / "none.pth")], "none")
    assert (tmp_path / "earlier" / "2" / "metrics.json").read_text() == "of a second one"
    assert results(tmp_path / "earlier" / "1") == first


@pytest.mark.parametrize("kind", ["images", "masks", "pred"])
def test_a_file_changed_at_equal_size_is_evaluated_again(given, tmp_path, capfd, kind):
    given, out = copy_data(given, tmp_path / "data"), tmp_path / "out"
    argv = arguments(given, out, "--dump_images")
    with stopped_at(4):
        assert evaluation.main(argv) == 130
    path = out / "pred" / "001.png" if kind == "pred" else given[1] / kind / "val" / "001.png"
    content, times = path.read_bytes(), path.stat()
    if kind == "pred":
        path.write_bytes(content[:-30])  # cut off
    else:
        path.write_bytes(content[:-8] + b"JEND" + content[-4:])  # after the pixels
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    code = evaluation.main([*argv, "--resume"])
    assert "resuming: 3 of 6 images are finished" in capfd.readouterr().out
    assert code == (0 if kind == "pred" else 3)


def test_parts_that_share_a_folder_resume(given, tmp_path, capfd):
    parts = [arguments(given, tmp_path, "--split_count", "2", "--split_index", str(i)) for i in range(2)]
    with stopped_at(2):
        assert evaluation.main(parts[0]) == 130
    evaluate(*parts[1])
    evaluate(*parts[0], "--resume")
    assert "resuming: 2 of 3 images are finished" in capfd.readouterr().out


@pytest.mark.parametrize("kind", ["pred/003.png", "diff/003.png", "metrics.json", "per_image.npz"])
def test_a_full_disk_leaves_finished_files_intact(given, tmp_path, capfd, monkeypatch, kind):
    out, replace = tmp_path / "out", os.replace

    def full(source, target):
        if str(target).endswith(kind):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    argv = arguments(given, out, "--dump_images")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        fails(capfd, 5, evaluation.main, argv, kind, "No space left", "free disk space")
    written = sorted((out / "pred").glob("*.png"))
    assert [np.array(Image.open(path)).shape for path in written] == [(48, 64)] * len(written)
    assert len(written) >= 3
    assert not list(out.rglob("*.tmp"))
    assert not (out / "metrics.json").exists()
    evaluate(*argv, "--resume")
    assert f"resuming: {3 if '003' in kind else 6} of 6" in capfd.readouterr().out


def test_void_labels(given, tmp_path, capfd):
    given = copy_data(given, tmp_path / "data")
    labels = sorted((given[1] / "masks" / "val").glob("*.png"))
    void = Image.fromarray(np.full((48, 64), 255, np.uint8))
    void.save(labels[0])
    evaluate(*arguments(given, tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_images"] == 6
    assert (tmp_path / "out" / "per_image.csv").read_text().splitlines()[1].startswith("000,0,,,")
    for path in labels:
        void.save(path)
    capfd.readouterr()
    fails(capfd, 3, evaluation.main, arguments(given, tmp_path / "all"), "--split val", "void", "nothing to score")
    assert not (tmp_path / "all").exists()


def test_boundary_scores_of_void_labels_are_none(given, tmp_path, capfd):
    snapshot, data = given[0], shutil.copytree(given[1], tmp_path / "data")
    for path in (data / "masks" / "val").iterdir():
        Image.new("L", Image.open(path).size, 255).save(path)
    argv = train_args(data, tmp_path, "--evaluateF", "--snapshot", str(snapshot))
    fails(capfd, 3, train.main, argv, "--val_split val", "void", "nothing to score")


def test_boundary_scores_of_a_few_images(given, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.evaluation.build.TEST_MODE_SAMPLES", 2)
    snapshot, data = given
    found = []
    for more in ([], ["--test_mode"]):
        assert train.main(train_args(data, tmp_path, "--evaluateF", "--snapshot", str(snapshot), *more)) == 0
        found.append(json.loads((tmp_path / "run" / "boundary_f_scores.json").read_text()))
    evaluate(*arguments(given, tmp_path / "few", "--boundary", "--test_mode"))
    few = json.loads((tmp_path / "few" / "metrics.json").read_text())["boundary"]["f_score"]
    assert found[1] == few != found[0]


def test_boundary_scores_of_train_need_no_arch(given, tmp_path):
    snapshot, data = given
    argv = train_args(data, tmp_path, "--evaluateF", "--snapshot", str(snapshot), "--eval_thresholds", "0.01,0.03")
    place = argv.index("--arch")
    assert train.main(argv[:place] + argv[place + 2 :]) == 0
    found = json.loads((tmp_path / "run" / "boundary_f_scores.json").read_text())
    evaluate(*arguments(given, tmp_path, "--boundary", "--eval_thresholds", "0.01,0.03"))
    assert found == json.loads((tmp_path / "metrics.json").read_text())["boundary"]["f_score"]
