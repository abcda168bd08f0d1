"""scripts/make_receipt.py: receipts of what a command left."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from scripts import make_receipt
from scripts.make_receipt import seconds_of
from scripts.receipts.store import check_results, load_results
from tests.campaigns.fuzz.options import EVAL
from utils.errors import DataError


@pytest.fixture
def write(world, tmp_path):
    """Writes a receipt of a copy of what the command left; `write.out` is that copy."""
    out = tmp_path / "left"
    shutil.copytree(world.scores.parent, out)

    def call(*more: str, name: str = "a") -> int:
        argv = [name, "--out_folder", out, "--dataset", "folder", "--data_root", world.data, "--command", EVAL]
        argv += ["--title", "t", "--variant", "v", "--tolerance", "0.1", "--covers", "nothing", *more]
        return make_receipt.main([*map(str, argv), "--out", str(tmp_path / "results" / f"{name}.json")])

    call.out, call.results = out, tmp_path / "results"
    return call


def test_a_receipt_holds_what_was_left_and_follows_from_its_counts(write):
    assert write() == 0
    receipt = load_results(write.results)[0]["a"]
    metrics = json.loads((write.out / "scores" / "metrics.json").read_text())
    assert receipt["mean_iou"] == metrics["mean_iou"] and receipt["weights_sha256"] == metrics["snapshot_sha256"]
    assert receipt["interval"][0] <= receipt["mean_iou"] <= receipt["interval"][1]
    assert receipt["tolerance"] == {"mean_iou": 0.1, "covers": "nothing"} and receipt["seed"] == 0
    trained = json.loads(next(write.out.rglob("config.json")).read_text())
    assert receipt["precision"] == trained["amp"] and trained["amp"] != "auto"
    assert (receipt["recipe"], receipt["train_split"], receipt["device"]) == ("a", "train", "cpu")
    assert (receipt["input_size"], receipt["scales"], receipt["flip"]) == ([32, 48], [1.0], False)
    assert receipt["budget_seconds"] is None
    curve = json.loads((write.results / "a" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"epoch", "train_loss", "mean_iou"} <= curve.keys()
    assert check_results(write.results) == []

    for key, value in (("mean_iou", receipt["mean_iou"] + 1e-6), ("interval", [0, 1])):
        (write.results / "a.json").write_text(json.dumps(receipt | {key: value}))
        assert [line.split()[1] for line in check_results(write.results)] == [key]


def test_what_does_not_fit_is_refused(write, capfd):
    def refuses(*words: str, **options: str) -> None:
        assert write(*(part for key, value in options.items() for part in (f"--{key}", value))) == 3
        err = capfd.readouterr().err
        assert all(word in err for word in words) and not write.results.exists(), err

    refuses("none", out_folder=str(write.out / "none"))
    refuses("--dataset", dataset="camvid")
    refuses("eval.py", command=f"{EVAL} --flip")  # another protocol
    path = write.out / "scores" / "pred" / "000.png"
    Image.fromarray((np.array(Image.open(path)) + 1) % 4).save(path)
    refuses("--dump_images")
    (write.out / "runs" / "run" / "best.pth").write_bytes(b"other weights")
    refuses("other weights")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("python eval.py --snapshot $OUT/a.pth --save_dir $OUT/a; rm -r x", "a;"),
        ("python eval.py --snapshot $HOME/a.pth --save_dir $OUT/a", "$HOME"),
        ("rm -r x && python eval.py --snapshot $OUT/a.pth --save_dir $OUT/a", "starts rm -r"),
        ("sh ../x.sh && python eval.py --snapshot $OUT/a.pth --save_dir $OUT/a", "starts sh ../x.sh"),
        ("python scripts/none.py && python eval.py --snapshot $OUT/a.pth --save_dir $OUT/a", "none.py"),
        ("python train.py --ckpt $OUT", "end it with python eval.py"),
        ("python eval.py --snapshot a.pth --save_dir $OUT/a", "--snapshot"),
        ("python eval.py --snapshot '$OUT/a.pth", "quotes"),
        ("python eval.py --help", "end it with python eval.py"),
        ("&& python eval.py --snapshot $OUT/a.pth --save_dir $OUT/a", "starts nothing"),
    ],
)
def test_commands_that_reproduce_could_not_run(write, capfd, command, word):
    assert write("--command", command) == 3
    assert word in capfd.readouterr().err


def test_execute_wants_an_empty_folder(write, capfd):
    assert write("--execute") == 2
    assert "--out_folder" in capfd.readouterr().err


def test_options_that_can_not_work(write, capfd):
    assert write("--budget_seconds", "0") == 2 and "--budget_seconds 0" in capfd.readouterr().err
    assert write(name="a") == 0 and write("--budget_seconds", "3600", name="b") == 0
    assert load_results(write.results)[0]["b"]["budget_seconds"] == 3600
    argv = ["a", "--out_folder", "x", "--dataset", "folder", "--command", EVAL, "--title", "t", "--variant", "v"]
    argv += ["--tolerance", "0.1", "--covers", "nothing", "--out", str(write.results / "a")]
    assert make_receipt.main(argv) == 2 and "name a file that ends in .json" in capfd.readouterr().err


def test_the_revision_is_asked_for_where_nothing_tells_it(write, capfd, monkeypatch):
    monkeypatch.setattr(make_receipt, "present_revision", lambda: None)
    assert write() == 0  # the run tells
    path = next(write.out.rglob("config.json"))
    trained = json.loads(path.read_text())
    assert load_results(write.results)[0]["a"]["revision"] == trained.pop("revision")
    path.write_text(json.dumps(trained))
    assert write() == 2 and "--revision: " in capfd.readouterr().err
    assert write("--revision", "0" * 40) == 0


def test_curves_that_can_not_be_read_leave_an_older_receipt_whole(write, capfd):
    assert write() == 0
    before = {path: path.read_bytes() for path in write.results.rglob("*") if path.is_file()}
    with open(next(write.out.rglob("metrics.jsonl")), "a") as file:
        file.write('{"epoch": 1')
    assert write() == 3 and "metrics.jsonl" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in write.results.rglob("*") if path.is_file()} == before


def test_pauses_and_earlier_runs_of_a_folder_do_not_count(tmp_path):
    log = tmp_path / "log.txt"
    begun = ["2026-01-01 10:00:00 command: x", "2026-01-01 10:10:00 epoch 0 step 20/40 loss 1"]
    log.write_text("\n".join([*begun, "a line without a date", "2026-01-01 10:10:30 stopped at step 20, saved"]))
    assert seconds_of(log) == 630
    resumed = ["2026-01-02 10:00:00 resuming at step 20 from last.pth", "2026-01-02 10:00:05 command: x"]
    ended = "2026-01-02 10:05:05 final weights sha256: 0"
    log.write_text("\n".join([log.read_text(), *resumed, ended]))
    assert seconds_of(log) == 930
    anew = ["2026-01-03 10:00:00 command: x", "2026-01-03 10:01:00 epoch 0 mIoU 1"]
    log.write_text("\n".join([log.read_text(), *anew]))
    assert seconds_of(log) == 60
    log.write_text("nothing")
    with pytest.raises(DataError, match="log.txt: shows no training"):
        seconds_of(log)
