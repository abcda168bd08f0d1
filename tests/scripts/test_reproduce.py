"""scripts/reproduce.py: receipts that hold, and ones that don't."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval as evaluation
import train
from scripts import compare, make_receipt, reproduce
from scripts.receipts import pages
from scripts.receipts.command import Step, parse_command
from scripts.receipts.speed import SITUATIONS, latency_rows, speed_rows
from scripts.receipts.store import RESULTS, load_results
from tests.conftest import make_scenes
from tests.processes import ROOT
from utils.errors import DataError

TRAIN = (
    "python train.py --arch fenet_tiny --channels 8 --dataset folder --data_root $DATA --ckpt $OUT --exp run"
    " --crop_size 32 --bs_mult 2 --max_epoch 1 --num_workers 0 --device cpu --seed 3 --no-report"
)
EVAL = (
    "python eval.py --snapshot $OUT/run/best.pth --data_root $DATA --split val --device cpu --num_workers 0"
    " --save_dir $OUT/scores --dump_images"
)
END = "<!-- end of table -->\n"
PAGE = f"before\n<!-- table results -->\nstale\n{END}after\n<!-- table receipts -->\n{END}"
PROGRAMS = {"train.py": train.main, "eval.py": evaluation.main}


def run_here(step: Step) -> None:
    """`Step.run` without a new process."""
    assert PROGRAMS[step.script](list(step.arguments)) == 0


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(Step, "run", run_here)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with `data`, what the command left in `out`, and its receipt `a` in `results`."""
    folder = tmp_path_factory.mktemp("reproduce")
    make_scenes(folder / "data", 4, 32, 48)
    argv = ["a", "--out_folder", str(folder / "out"), "--dataset", "folder", "--data_root", str(folder / "data")]
    argv += ["--title", "an epoch", "--variant", "blocks", "--tolerance", "0.01", "--covers", "nothing"]
    argv += ["--command", f"{TRAIN} && {EVAL}", "--execute", "--out", str(folder / "results" / "a.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "run", run_here)
        assert make_receipt.main(argv) == 0
    return folder


@pytest.fixture
def results(made, tmp_path) -> Path:
    """A copy of the receipts, to be changed."""
    return Path(shutil.copytree(made / "results", tmp_path / "results"))


def change(results: Path, **fields: object) -> None:
    """Other fields for receipt `a`."""
    path = results / "a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def call(made: Path, results: Path, tmp_path: Path, *more: object) -> int:
    argv = ["a", "--data_root", made / "data", "--out_folder", tmp_path / "again", "--results", results, *more]
    return reproduce.main([str(word) for word in argv])


@pytest.mark.slow
def test_training_it_again_gives_it_again(made, results, tmp_path, capfd):
    assert call(made, results, tmp_path) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert last.startswith("a: holds: mIoU")
    assert (tmp_path / "again" / "run" / "best.pth").is_file()
    assert call(made, results, tmp_path) == 2  # the folder isn't empty any more
    assert "--out_folder" in capfd.readouterr().err


def test_a_snapshot_is_scored_again(made, results, tmp_path, here, capfd):
    snapshot = made / "out" / "run" / "best.pth"
    change(results, tolerance={"mean_iou": None, "covers": "nothing"})
    assert call(made, results, tmp_path) == 2 and "use --check" in capfd.readouterr().err
    assert call(made, results, tmp_path, "--check", snapshot) == 0
    assert "a: holds: " in capfd.readouterr().out and not (tmp_path / "again" / "run").exists()

    change(results, mean_iou=json.loads((results / "a.json").read_text())["mean_iou"] + 0.002)
    assert call(made, results, tmp_path, "--check", snapshot, "--out_folder", tmp_path / "other") == 6
    assert "a: does not hold: mIoU" in capfd.readouterr().err


def test_it_is_computed_in_the_receipts_precision():
    command = parse_command(f"{TRAIN} && sh scripts/train_camvid_2cores.sh && {EVAL} && {EVAL} --amp=fp16", "a")
    for training, more in (("off", ("--amp", "off")), (None, ())):
        steps = command.in_precision(training, "bf16").steps
        added = [step.arguments[len(before.arguments) :] for step, before in zip(steps, command.steps, strict=True)]
        assert added == [more, more, ("--amp", "bf16"), ()]


def test_other_data_and_other_weights_are_told_apart(made, results, tmp_path, capfd):
    other = shutil.copytree(made / "data", tmp_path / "data")
    path = other / "images" / "val" / "000.png"
    Image.fromarray(np.asarray(Image.open(path)) ^ 1).save(path)
    assert call(made, results, tmp_path, "--data_root", other) == 3
    assert "blocks" in capfd.readouterr().err
    assert call(made, results, tmp_path, "--check", made / "out" / "run" / "last.pth") == 4
    assert call(made, results, tmp_path, "--check", tmp_path / "none.pth") == 4
    assert not (tmp_path / "again").exists()


def test_a_step_that_fails_ends_it_with_its_code(made, results, tmp_path, capfd):
    change(results, command=f"{TRAIN} --lr nan && {EVAL}")
    assert call(made, results, tmp_path) == 2
    assert "train.py: ended with exit code 2" in capfd.readouterr().err


@pytest.mark.parametrize(
    "argv", [[], ["a", "--list"], ["--list", "--check", "x"], ["--verify", "--list"], ["none"], ["a", "--verify"]]
)
def test_options_that_do_not_go_together(argv, results, capfd):
    assert reproduce.main([*argv, "--results", str(results)]) == 2
    assert capfd.readouterr().err.startswith("error: ")


def test_a_folder_of_receipts_that_is_not_there(tmp_path, capfd):
    assert reproduce.main(["--list", "--results", str(tmp_path / "none")]) == 2
    assert "--results" in capfd.readouterr().err


def test_pages_are_drawn_from_receipts(results, tmp_path, monkeypatch, capfd):
    (tmp_path / "docs").mkdir()
    for name in pages.PAGES:
        (tmp_path / name).write_text(PAGE)
    monkeypatch.setattr(reproduce, "render", lambda folder: pages.render(folder, tmp_path))
    argv = ["--table", "--results", str(results)]
    assert reproduce.main([*argv, "--verify"]) == 3 and "README.md" in capfd.readouterr().err
    assert reproduce.main(argv) == 0 and reproduce.main([*argv, "--verify"]) == 0
    text = (tmp_path / "README.md").read_text()
    score = json.loads((results / "a.json").read_text())["mean_iou"]
    assert text.startswith("before\n") and "\nafter\n" in text and "stale" not in text
    assert f"| {100 * score:.1f} |" in text and "results/a/curves.svg" in text
    picture = ElementTree.parse(results / "a" / "curves.svg").getroot()
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) == 4  # 2 charts of 2 lines

    (tmp_path / "README.md").write_text("<!-- table none -->\n<!-- end of table -->")
    assert reproduce.main(argv) == 3
    change(results, mean_iou=score + 0.001)
    assert reproduce.main(argv) == 3 and "a.json: mean_iou" in capfd.readouterr().err


def test_a_folder_of_one_s_own_gets_a_page_of_its_own(results, capfd):
    before = {name: (ROOT / name).read_bytes() for name in pages.PAGES}
    argv = ["--table", "--results", str(results)]
    assert reproduce.main([*argv, "--verify"]) == 3 and "tables.md" in capfd.readouterr().err
    assert reproduce.main(argv) == 0 and str(results / "tables.md") in capfd.readouterr().out
    assert reproduce.main([*argv, "--verify"]) == 0
    assert "](a/curves.svg)" in (results / "tables.md").read_text() and (results / "a" / "curves.svg").is_file()
    assert {name: (ROOT / name).read_bytes() for name in pages.PAGES} == before


def test_seeds_of_a_recipe_are_one_row_with_their_mean_and_spread(results):
    receipt = load_results(results)[0]["a"]
    alike = receipt | {"recipe": "s"}
    seeds = {f"s{n}": alike | {"seed": n, "mean_iou": score} for n, score in ((1, 0.60), (2, 0.62))}
    seeds["s2"]["seconds"] = 600.0 + 60 * round(receipt["seconds"] / 60)
    other = {"other": seeds["s1"] | {"flip": True}}  # the same recipe, scored in another way
    rows = pages.results_table({"a": receipt} | seeds | other).splitlines()[2:]
    assert len(rows) == 3 and "| 61.0 ± 1.4, 2 seeds |  | `s1`, `s2` |" in rows[1] and "`a`" in rows[0]
    minutes = round(receipt["seconds"] / 60)
    assert f"; {minutes} to {minutes + 10} minutes |" in rows[1]
    assert pages.results_table(seeds | {"s3": seeds["s1"] | {"train_split": "trainval"}}).count("\n") == 3
    with pytest.raises(DataError, match="s1, s2: of one recipe and seed"):
        pages.results_table({"s1": alike, "s2": alike})


def test_of_several_seeds_each_class_has_its_mean():
    def receipt(recipe: str, seed: int, train: float | None) -> dict:
        scores = {"road": {"iou": 0.9}, "train": {"iou": train}}
        what = {"dataset": "d", "split": "val", "arch": "m", "recipe": recipe, "seed": seed}
        return what | {"metrics": {"per_class": scores}}

    table = pages.class_tables({"a": receipt("a", 1, None), "s1": receipt("s", 1, 0.2), "s2": receipt("s", 2, 0.3)})
    assert table.splitlines()[0] == "| `d` val | road | train |"
    assert table.splitlines()[2:] == ["| `a` | 90.0 | n/a |", "| `s1`, mean of 2 seeds | 90.0 | 25.0 |"]


def test_comparisons_of_receipts_are_receipts(results):
    for path in ("a.json", "a"):
        (shutil.copytree if path == "a" else shutil.copyfile)(results / path, results / path.replace("a", "b", 1))
    (results / "b.json").write_text((results / "b.json").read_text().replace('"id": "a"', '"id": "b"'))
    assert compare.main([str(results / "a"), str(results / "b"), "--json", str(results / "a_b.json")]) == 0
    _, comparisons = load_results(results)
    assert "| `a` | `b` | +0.0 | +0.0 to +0.0 |" in pages.comparison_table(comparisons)
    assert reproduce.check_results(results) == []
    comparisons["a_b"]["mean_iou"]["difference"] = 0.1
    (results / "a_b.json").write_text(json.dumps(comparisons["a_b"]))
    assert reproduce.check_results(results) == ["a_b.json: mean_iou isn't what the counts of its receipts give"]


def test_what_the_repository_says_follows_from_its_receipts(capfd):
    assert reproduce.main(["--table", "--verify"]) == 0, capfd.readouterr().err
    capfd.readouterr()
    assert reproduce.main(["--list"]) == 0
    listed = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert listed == list(load_results(RESULTS)[0])


def test_table_of_the_benchmarks_has_a_row_per_arm(tmp_path):
    arms = {
        "plain": {"median": 0.5, "ratio": 1.0, "mean_iou": 0.5},
        "ours": {"median": 0.25, "ratio": 2.0, "peak_memory_ratio": 0.125, "mean_iou": 0.375},
        "plain_forward": {"median": 0.3, "ratio": 1.0},
        "folded_forward": {"median": 0.1, "ratio": 3.0, "roofline_share": 0.875},
    }
    benchmark = {"what": "infer", "arms": arms, "sizes": {"size": [64, 128], "batch": 2, "arch": "fenet_r18"}}
    benchmark["hardware"] = {"device": "cpu", "name": "x86_64", "threads": 1}
    (tmp_path / "bench_infer.json").write_text(json.dumps(benchmark))
    (tmp_path / "gpu_infer.json").write_text(
        json.dumps(benchmark | {"hardware": {"device": "cuda", "name": "GPU", "threads": 8}})
    )
    (tmp_path / "bench_scaling.json").write_text(json.dumps({"what": "scaling", "arms": {}}))
    (tmp_path / "bench_roofline.json").write_text(json.dumps({"what": "roofline", "arms": {}}))
    subject = ["inference, whole image, fenet_r18", "2x64x128"]
    assert speed_rows(tmp_path) == [
        [*subject, "1 thread", "`ours`", "500.0", "250.0", "2.00", "", "0.12", "37.5 (50.0)"],
        [*subject, "1 thread", "`folded_forward`", "300.0", "100.0", "3.00", "0.88", "", ""],
        [*subject, "GPU", "`ours`", "500.0", "250.0", "2.00", "", "0.12", "37.5 (50.0)"],
        [*subject, "GPU", "`folded_forward`", "300.0", "100.0", "3.00", "0.88", "", ""],
    ]


def test_table_of_latencies(tmp_path):
    quantiles = {"p50": 0.01, "p95": 0.02, "p99": 0.03}
    arms = {
        "plain": {"median": 0.04, "drawn": quantiles} | quantiles,
        "onnx": {"median": 0.01} | quantiles | dict.fromkeys(SITUATIONS, quantiles),
    }
    data = {"what": "latency", "rounds": 200, "arms": arms, "sizes": {"size": [64, 128], "arch": "fenet"}}
    data["hardware"] = {"device": "cpu", "name": "x86_64", "threads": 2}
    (tmp_path / "bench_latency.json").write_text(json.dumps(data))
    subject, quiet = ["fenet", "64x128", "2 threads", "200"], ["10.0", "20.0", "30.0", "10.0 / 30.0"]
    assert latency_rows(tmp_path) == [
        [*subject, "`plain`", *quiet, "", "", "", "", ""],
        [*subject, "`onnx`", *quiet, *["10.0 / 30.0"] * 4, ""],
    ]
