"""scripts/study.py: what it refuses, runs, shares, resumes and says."""

import json
import shlex
import shutil
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval
from config import parse_eval, parse_train
from engine.training.lock import RunLock
from scripts import study
from scripts.studies import leavings, programs, runs
from scripts.studies.gathering import by_variant
from scripts.studies.keys import plain_options
from scripts.studies.page.tables import latex
from scripts.studies.programs import Clock, Ended, OutOfTime, ProgramFailed, run_program
from scripts.studies.record import RunRecord, pack, read_record, thin_curve, write_record
from scripts.studies.study_file import read_study
from tests.conftest import make_scenes
from tests.processes import ROOT, Job, launch
from tests.scripts.test_compare import leave, make_matrices
from tests.test_bad_input import fails
from utils.errors import OptionError
from utils.files import file_sha256, write_json

SMALL = {"arch": "fenet_tiny", "channels": 16, "dataset": "folder", "crop_size": 32, "bs_mult": 2, "max_epoch": 1}
SMALL |= {"num_workers": 0, "device": "cpu", "lr": 0.01, "class_uniform_pct": 0}
NOISE = {"fem_d": {"fem_d": False}, "fem_s": {"fem_s": False}}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("study") / "data", 4)


def write(path: Path, base: dict, variants: dict, seeds=(1, 2)) -> Path:
    path.write_text(json.dumps({"base": base, "variants": variants, "seeds": list(seeds)}))
    return path


def leave_run(arguments: list[str]) -> None:
    """What train.py leaves, as far as it is read; the weights are the options."""
    config = parse_train(arguments)
    config.run.folder.mkdir(parents=True, exist_ok=True)
    content = {"command": shlex.join(["python", "train.py", *arguments]), "amp": "off", "processes": 1}
    (config.run.folder / "config.json").write_text(json.dumps(content))
    row = {"epoch": 0, "step": 10, "images_per_second": 4.0, "mean_iou": 0.1 * config.compute.seed}
    (config.run.folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (config.run.folder / "best.pth").write_text(f"{config.compute.seed} {config.model.fem_d} {config.model.fem_s}")


def leave_scores(arguments: list[str]) -> None:
    """What eval.py leaves: scores that follow from the weights."""
    options, _ = parse_eval(arguments)
    sha256 = file_sha256(options.snapshot)
    leave(options.folder, make_matrices(20, 0.2 + 0.2 * int(sha256[:4], 16) / 2**16), amp="off")
    metrics = json.loads((options.folder / "metrics.json").read_text()) | {"dataset": "folder"}
    (options.folder / "metrics.json").write_text(json.dumps(metrics | {"snapshot_sha256": sha256}))


@pytest.fixture
def trained_folder(tmp_path) -> Path:
    """What train.py leaves of a run that isn't scored yet."""
    leave_run(["--arch", "fenet_tiny", "--dataset", "folder", "--ckpt", str(tmp_path), "--exp", "run"])
    return tmp_path / "run"


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """The programs that a study starts, which leave what they would, without work."""
    seen = []

    def run(script: str, arguments: list, log: Path, clock: Clock) -> Ended:
        clock.check()
        seen.append(script)
        {"train.py": leave_run, "eval.py": leave_scores}[script](list(arguments))
        return Ended("", 2**30)

    for module in (runs, leavings):
        monkeypatch.setattr(module, "run_program", run)
    monkeypatch.setattr("config.check_buildable", lambda model: None)  # slow, and not what is tested
    return seen


def make_record(seed: int, gain: float = 0.0, split: str = "val", images: int = 233, **options) -> RunRecord:
    """A made-up run on CamVid's classes, as large as one on its test split."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 30_000, (images, 11)) * (rng.random((images, 11)) < 0.7)
    quality = np.clip(0.8 + gain + np.random.default_rng(seed).normal(0, 0.05, truth.shape), 0.05, 1)
    common = (truth * quality).astype(np.int64)
    other = np.random.default_rng(seed).integers(0, 3000, truth.shape)
    asked = plain_options(parse_train([])) | {"dataset": "camvid", "seed": seed} | options
    curve = thin_curve([{"epoch": i, "step": 10 * (i + 1), "train_loss": 1 / 3, "mean_iou": 0.5} for i in range(500)])
    names = [f"0006R0_f{30 * i:05d}" for i in range(images)]
    counts = pack(np.stack([common, truth, common + other], -1))
    known = (
        asked,
        {},
        "off",
        "camvid",
        split,
        {"flip": False, "amp": "off"},
        None,
        {},
        None,
        "best.pth",
        "0" * 64,
        curve,
        60.0,
        2**30,
    )
    return RunRecord(*known, [f"class {c}" for c in range(11)], names, counts)


def test_a_study_runs_what_is_missing_and_shares_what_is_there(data, tmp_path, started, capsys):
    base, out = SMALL | {"data_root": str(data)}, tmp_path / "out"
    first = write(tmp_path / "first.json", base, {"whole": {}, "without D": NOISE["fem_d"]})
    place = ["--runs_folder", str(tmp_path / "runs")]
    assert study.main([str(first), "--list", *place]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 4 and all(line.startswith("python train.py --arch=fenet_tiny ") for line in listed)
    assert ["--no-fem_d" in line for line in listed] == [False, True] * 2 and not started
    assert study.main([str(first), "--out", str(out), "--only", "1/2", *place]) == 0
    assert "whole" in (said := capsys.readouterr().out) and "Runs that are missing: 2." in said
    assert started == ["train.py", "eval.py"] * 2
    assert study.main([str(first), "--out", str(out), *place]) == 0
    assert len(started) == 8
    result = json.loads((out / "study.json").read_text())
    second = write(tmp_path / "second.json", base, {"without D": NOISE["fem_d"], "without S": NOISE["fem_s"]})
    assert study.main([str(second), "--out", str(tmp_path / "other"), *place]) == 0
    assert len(started) == 12  # of four runs two are the first study's
    shared = json.loads((tmp_path / "other" / "study.json").read_text())["variants"]["without D"]
    row = result["variants"]["without D"]
    assert shared["mean_iou"] == row["mean_iou"] and shared["difference"] is None and row["seeds"] == [1, 2]
    assert row["interval"][0] < row["difference"] < row["interval"][1]
    assert row["seconds"] == [5.0, 5.0] and row["memory"] == [2**30, 2**30]
    page = (out / "report.html").read_text()
    assert "without D" in page and "\\toprule" in page and page.count("<polyline") == 4
    for folder in (tmp_path / "runs").glob("*/train"):  # the records are enough
        (folder / "best.pth").unlink()
    assert study.main([str(first), "--out", str(tmp_path / "again"), *place]) == 0
    assert json.loads((tmp_path / "again" / "study.json").read_text()) == result and len(started) == 12


@pytest.mark.parametrize(("asked", "fits"), [("off", True), ("auto", True), ("bf16", False)])
def test_a_run_s_precision_is_what_auto_came_to(tmp_path, asked, fits):
    path = write(tmp_path / "s.json", {"dataset": "camvid", "amp": asked}, {"whole": {}})
    records = [make_record(seed, amp="auto") for seed in (1, 2)]  # in float32
    with nullcontext() if fits else pytest.raises(OptionError, match='amp "bf16", there "off"'):
        assert by_variant(read_study(path), [path] * 2, records) == {"whole": records}


@pytest.mark.slow
def test_runs_of_train_py_come_onto_a_page(trained, tmp_path, monkeypatch, capfd):
    def run(script: str, arguments: list, log: Path, clock: Clock) -> Ended:
        assert script == "eval.py" and eval.main(arguments) == 0
        return Ended("", 0)

    monkeypatch.setattr(leavings, "run_program", run)
    folder, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(trained.folder, folder)
    assert study.main(["--runs", str(folder), "--out", str(out)]) == 0
    found = json.loads((out / "study.json").read_text())["variants"]
    scored = json.loads((folder / "eval_val" / "metrics.json").read_text())
    assert found["all runs"]["mean_iou"] == [pytest.approx(scored["mean_iou"], abs=1e-12)]
    assert found["all runs"]["std"] is None and found["all runs"]["seconds"][0] > 0
    wide = tmp_path / "wide"  # as if it were of another model
    shutil.copytree(folder, wide)
    config = json.loads((wide / "config.json").read_text())
    other = {"arguments": [*config["arguments"], "--channels", "24"]}
    (wide / "config.json").write_text(json.dumps(config | other))
    monkeypatch.setattr(leavings, "run_program", None)  # scored already
    capfd.readouterr()
    assert study.main(["--runs", str(folder), str(wide), "--out", str(out)]) == 0
    assert "no interval: one seed of channels 16 and of channels 24 says nothing" in capfd.readouterr().out
    assert json.loads((out / "study.json").read_text())["variants"]["channels 24"]["interval"] is None
    other = write(tmp_path / "s.json", {"arch": "fenet_tiny", "dataset": "folder"}, {"whole": {"channels": 16}})
    wrong = "a run of another study's options: not whole's "
    fails(capfd, 2, study.main, [other, "--runs", folder, "--out", tmp_path / "o"], "--runs", "run", wrong)


@pytest.mark.parametrize(
    ("variants", "seeds", "said"),
    [
        ({"a": {"crop_sise": 32}}, [1, 2], ["variant a: crop_sise: no option of train.py; did you mean crop_size?"]),
        ({"a": {}, "b": {"lr": -1}}, [1, 2], ["variant b", "--lr -1"]),
        ({"a": {"lr": {"x": 1}}}, [1, 2], ["variant a: lr: a text, number"]),
        ({"a": {"exp": "x"}}, [1, 2], ["exp: the study sets it itself"]),
        ({"a": {"help": True}}, [1, 2], ["help: no option of train.py"]),
        ({"a": {}, "b": {"channels": 16}}, [1, 2], ["variants a and b have the same options"]),
        ({}, [1, 2], ["variants names none"]),
        ({"a": {}}, [1], ["seeds [1]: there is no interval"]),
        ({"a": {}}, [1, 1], ["seeds [1, 1]: a list of different whole numbers"]),
        ({"a": {}}, [1, "2"], ['seeds [1, "2"]: a list']),
        ({"a": {}}, [1, 2**63], ["a list of different whole numbers"]),
    ],
)
def test_a_study_that_can_not_work_is_refused_before_it_runs(tmp_path, capfd, started, variants, seeds, said):
    path = write(tmp_path / "s.json", SMALL, variants, seeds)
    place = ["--out", tmp_path / "out", "--runs_folder", tmp_path / "runs"]
    fails(capfd, 2, study.main, [path, *place], "s.json", *said)
    assert not started and not (tmp_path / "runs").exists()


def test_options_and_files_that_can_not_work(tmp_path, capfd):
    odd = tmp_path / "s.json"
    hidden = '{"base": [1], "variants": {"base": {}}, "seeds": [1, 2]}'
    twice = '{"base": {"lr": 1, "lr": 2}}'
    for text in (hidden, "[", "[]", '{"variants": {"a": {}}, "seed": [1]}', twice):
        odd.write_text(text)
        fails(capfd, 2, study.main, [odd, "--out", tmp_path], "s.json", "write {")
    fails(capfd, 2, study.main, [odd], "--out: name the folder")
    fails(capfd, 2, study.main, ["--out", tmp_path], "name a STUDY.json")
    fails(capfd, 2, study.main, [odd, "--out", tmp_path, "--only", "3/2"], "--only 3/2: must be I/N")
    fails(capfd, 2, study.main, [odd, "--out", tmp_path, "--time_limit", "0"], "--time_limit 0")
    fails(capfd, 2, study.main, ["--runs", tmp_path / "none", "--out", tmp_path], "none: no such file or folder")
    fails(capfd, 3, study.main, ["--runs", tmp_path, "--out", tmp_path], "no run of train.py")
    fails(capfd, 3, study.main, ["--runs", odd, "--out", tmp_path], "no record of a finished run")
    write_record(odd, make_record(1))
    asked = ["--runs", odd, "--out", tmp_path]
    fails(capfd, 2, study.main, [*asked, "--split", "test"], "was scored on val, not on --split test")
    fails(capfd, 2, study.main, [*asked, "--runs_folder", tmp_path], "--runs with --runs_folder")


def test_records_are_small_whole_and_compared_only_where_they_fit(tmp_path, capfd):
    paths = {}
    changed = {"lr": 0.003}
    for name, record in {
        "a": make_record(1),
        "b": make_record(2),
        "c": replace(make_record(1, -0.05, **changed), protocol={"flip": False, "amp": "bf16"}),
        "d": make_record(2, -0.05, **changed),
        "flip": replace(make_record(3), protocol={"flip": True, "amp": "off"}),
        "test": make_record(3, split="test"),
        "fewer": make_record(3, images=100),
    }.items():
        write_record(paths.setdefault(name, tmp_path / f"{name}.json"), record)
        assert read_record(paths[name]) == record
    assert paths["a"].stat().st_size < 100_000
    assert len(make_record(1).curve) <= 200 and make_record(1).curve[-1]["step"] == 5000
    out = ["--out", tmp_path / "out"]
    assert study.main(["--runs", *map(str, (paths[name] for name in "abcd")), "--out", str(tmp_path / "out")]) == 0
    row = json.loads((tmp_path / "out" / "study.json").read_text())["variants"]["lr 0.003"]
    assert row["holds"] and row["interval"][1] < 0 and row["seeds_needed"]["0.02"] >= 2
    assert row["scored_precision"] == ["bf16", "off"]
    assert "lr 0.003 differs from lr 0.002" in capfd.readouterr().out
    fails(capfd, 2, study.main, ["--runs", paths["a"], paths["test"], *out], "split val and test")
    fails(capfd, 2, study.main, ["--runs", paths["a"], paths["flip"], *out], "protocol {'flip': False} and")
    fails(capfd, 3, study.main, ["--runs", paths["a"], paths["fewer"], *out], "other images")
    fails(capfd, 2, study.main, ["--runs", paths["a"], paths["a"], *out], "seed 1 is there twice")
    paths["a"].write_text(paths["a"].read_text()[:-50])
    fails(capfd, 3, study.main, ["--runs", paths["a"], *out], "a.json: no record of a finished run")


def test_names_are_text_in_every_table(tmp_path):
    base, variants = {"dataset": "camvid"}, {"A & <b>_1|": {}, "100 % #2": {"lr": 0.003}}
    paths = []
    for seed in (1, 2):
        for lr in (0.002, 0.003):
            paths.append(tmp_path / f"{seed}_{lr}.json")
            write_record(paths[-1], make_record(seed, lr=lr))
    given = write(tmp_path / "s.json", base, variants)
    assert study.main([str(given), "--runs", *map(str, paths), "--out", str(tmp_path)]) == 0
    page, results = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "study.json").read_text())
    assert "A &amp; &lt;b&gt;_1|" in page and "<b>_1" not in page
    assert "A \\& $<$b$>$\\_1|" in latex(results) and "100 \\% \\#2" in latex(results)


def test_a_run_of_other_options_under_a_key_is_refused(data, tmp_path, started, capfd):
    given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, {"whole": {}})
    place = ["--runs_folder", str(tmp_path / "runs")]
    assert study.main([str(given), "--list", *place]) == 0
    key = capfd.readouterr().out.split("--exp=")[1].split("/")[0]
    write_record(tmp_path / "runs" / key / "val.json", make_record(1))
    (tmp_path / "runs" / key).mkdir(exist_ok=True)
    fails(capfd, 2, study.main, [given, "--out", tmp_path, *place], key, "a run of another study's options")
    assert not started


def test_what_only_the_data_shows_not_to_work_is_refused_before_the_first_run(data, tmp_path, started, capfd):
    place = ["--out", tmp_path / "out", "--runs_folder", tmp_path / "runs"]
    base = SMALL | {"data_root": str(data)}
    for options, said in (
        ({"class_weights": "treee=2"}, "variant other: --class_weights"),
        ({"global_batch": 3}, "variant other: --global_batch 3"),
        ({"teacher": "none.pth"}, "none.pth"),
    ):
        given = write(tmp_path / "s.json", base, {"whole": {}, "other": options})
        assert study.main([str(given), *map(str, place)]) in (2, 4)
        assert said in capfd.readouterr().err and not started


def test_a_study_without_a_model_has_the_default_one(data, tmp_path, started, capsys):
    base = {name: value for name, value in SMALL.items() if name not in ("arch", "channels")}
    given = write(tmp_path / "s.json", base | {"data_root": str(data)}, {"whole": {}})
    assert study.main([str(given), "--list", "--runs_folder", str(tmp_path / "runs")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_changed_label_is_scored_anew(tmp_path, started):
    data = make_scenes(tmp_path / "data", 4)
    given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, {"whole": {}})
    argv = [str(given), "--out", str(tmp_path / "out"), "--split", "test", "--runs_folder", str(tmp_path / "runs")]
    for kind in ("images", "masks"):
        shutil.copytree(data / kind / "val", data / kind / "test")
    assert study.main(argv) == 0 and started == ["train.py", "eval.py"] * 2
    label = next((data / "masks" / "test").iterdir())
    Image.fromarray(np.zeros_like(np.asarray(Image.open(label)))).save(label)
    assert study.main(argv) == 0 and started == ["train.py", "eval.py"] * 4
    assert study.main(argv) == 0 and len(started) == 8


def test_images_that_are_left_out_count_by_variant(data, tmp_path, started, capsys):
    keys = []
    for variants in ({"few": {"limit_images": 2}, "all": {}}, {"all": {}, "few": {"limit_images": 2}}):
        given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, variants)
        assert study.main([str(given), "--list", "--runs_folder", str(tmp_path / "runs")]) == 0
        lines = capsys.readouterr().out.splitlines()
        keys.append({("--limit_images" in line, line.split("--exp=")[1].split("/")[0]) for line in lines})
    assert keys[0] == keys[1] and len({key for _, key in keys[0]}) == 4


def test_equal_keys_are_one_run_however_the_options_are_written(data, tmp_path, started, monkeypatch):
    (tmp_path / "teacher.pth").write_text("weights")
    monkeypatch.setattr(runs, "check_run", lambda *_: None)  # that isn't a snapshot
    monkeypatch.chdir(tmp_path)
    for teacher, amp in ("teacher.pth", "off"), (str(tmp_path / "teacher.pth"), "auto"):
        base = SMALL | {"data_root": str(data), "teacher": teacher, "amp": amp, "deterministic": True}
        given = write(tmp_path / "s.json", base, {"whole": {}})
        if amp == "auto":
            monkeypatch.setattr("scripts.studies.runs.precision_of", lambda config: "off")
        assert study.main([str(given), "--out", str(tmp_path / "out"), "--runs_folder", str(tmp_path / "runs")]) == 0
    assert started == ["train.py", "eval.py"] * 2


def test_variants_that_come_to_one_run_are_refused(data, tmp_path, started, monkeypatch, capfd):
    monkeypatch.setattr(runs, "precision_of", lambda config: "bf16")
    variants = {"auto": {}, "named": {"amp": "bf16"}}
    given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, variants)
    place = ["--out", tmp_path / "out", "--runs_folder", tmp_path / "runs"]
    fails(capfd, 2, study.main, [given, *place], "variants auto and named come to the same run here")
    assert not started


def test_memory_is_that_of_the_training(data, tmp_path, started, monkeypatch):
    given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, {"whole": {}})
    (run, _) = runs.study_runs(read_study(given), tmp_path, "val")
    run.folder.mkdir()
    assert [run._most_memory(Ended(*one)) for one in (("", 300), ("this run is finished", 500), ("", 200))] == [300] * 3
    (run.folder / "memory.json").unlink()
    assert run._most_memory(Ended("this run is finished; ...", 500)) is None


def test_runs_of_an_options_file_are_read_as_they_were_trained(tmp_path):
    (tmp_path / "options.json").write_text(json.dumps(SMALL | {"lr": 0.03}))
    config = parse_train(["--options_from", str(tmp_path / "options.json"), "--global_batch", "6"])
    content = {"command": config.command, "arguments": config.arguments, "amp": "off"}
    write_json(tmp_path / "run" / "config.json", content)
    (tmp_path / "options.json").unlink()
    run = leavings.TrainedRun.open(tmp_path / "run")
    assert run.options["lr"] == 0.03 and run._images_per_step == 6


def test_a_page_of_runs_stops_in_time(tmp_path, trained_folder, started, capsys):
    argv = ["--runs", str(trained_folder), "--out", str(tmp_path / "out"), "--time_limit", "0.01"]
    assert study.main(argv) == 0
    assert "stopped; the same command resumes" in capsys.readouterr().out and not started


def test_a_run_that_another_study_makes_is_waited_for(data, tmp_path, started, monkeypatch, capsys):
    given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, {"whole": {}})
    place = ["--out", str(tmp_path / "out"), "--runs_folder", str(tmp_path / "runs")]
    assert study.main([str(given), "--list", *place]) == 0
    first, second = (line.split("--exp=")[1].split("/")[0] for line in capsys.readouterr().out.splitlines())
    (tmp_path / "runs" / first).mkdir()
    lock = RunLock(tmp_path / "runs" / first)
    lock.acquire()

    def other_dies(seconds: float) -> None:
        assert started == ["train.py", "eval.py"] and (tmp_path / "runs" / second / "val.json").exists()
        lock.release()

    monkeypatch.setattr(runs.time, "sleep", other_dies)
    assert study.main([str(given), *place]) == 0
    assert len(started) == 4 and (tmp_path / "runs" / first / "val.json").exists()


PROGRAM = """
import signal, sys, time
if sys.argv[1] == "fails":
    print("error: no such thing"); sys.exit(3)
def stop(*_):
    print("stopped at step 3, saved"); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("training", flush=True)
time.sleep(60 if sys.argv[1] == "long" else 0)
"""


def test_programs_end_by_themselves_with_an_error_or_in_time(tmp_path):
    script, log = tmp_path / "program.py", tmp_path / "log"
    script.write_text(PROGRAM)
    ended = run_program(str(script), ["short"], log, Clock())
    assert ended.output == "training\n" and ended.memory > 2**20
    with pytest.raises(ProgramFailed, match="no such thing") as failed:
        run_program(str(script), ["fails"], log, Clock())
    assert failed.value.exit_code == 3
    clock = Clock(minutes=4 / 60)  # of which 3 s are the margin
    started = time.monotonic()
    with pytest.raises(OutOfTime):
        run_program(str(script), ["long"], log, clock)
    assert time.monotonic() - started < 60 * clock.minutes and "stopped" in log.read_text()


def test_a_study_out_of_time_says_how_to_go_on(data, tmp_path, capsys):
    given = write(tmp_path / "s.json", SMALL | {"data_root": str(data)}, {"whole": {}})
    place = ["--out", str(tmp_path / "out"), "--runs_folder", str(tmp_path / "runs")]
    assert study.main([str(given), *place, "--time_limit", "0.01"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "stopped; the same command resumes",
        "no run is finished yet, so there is nothing to compare",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_study_killed_five_times_ends_in_the_same_table(data, tmp_path):
    base = SMALL | {"data_root": str(data), "max_epoch": 4, "save_every": 1}
    given = write(tmp_path / "s.json", base, {"whole": {}, "without D": NOISE["fem_d"]})
    calm = [str(given), "--out", str(tmp_path / "calm"), "--runs_folder", str(tmp_path / "calm_runs")]
    assert launch(["scripts/study.py", *calm], timeout=900).returncode == 0
    command = ["scripts/study.py", str(given), "--out", str(tmp_path / "out"), "--runs_folder", str(tmp_path / "runs")]
    # before the first step, after a save, while it is scored, between two runs, in the second run
    moments = {
        "*/train.log": 1,
        "*/train/last.pth": 1,
        "*/train/eval_val.log": 1,
        "*/val.json": 1,
        "*/train/log.txt": 2,
    }
    for pattern, number in moments.items():
        with Job(command) as job:
            while len(list((tmp_path / "runs").glob(pattern))) < number:
                assert job.processes[0].is_alive(), f"it ended before {pattern} was there"
                time.sleep(0.02)
            job.send(signal.SIGKILL)
    done = launch(command, timeout=900)
    assert done.returncode == 0, done.stderr
    tables = [json.loads((tmp_path / name / "study.json").read_text())["variants"] for name in ("calm", "out")]
    for row in (row for table in tables for row in table.values()):
        row.pop("seconds"), row.pop("memory"), row.pop("runs")
    assert tables[0] == tables[1]


def test_the_study_of_the_paper_s_claim_is_one(monkeypatch):
    monkeypatch.setattr("config.check_buildable", lambda model: None)
    found = read_study(ROOT / "recipes/camvid_fem_study.json")
    assert len(found.runs()) == 25 and next(iter(found.variants)) == "FENet"
    parts = [(run.config.model.fem_d, run.config.model.fem_s) for run in found.variants.values()]
    assert parts[1:4] == [(False, True), (True, False), (False, False)]
    assert all(run.config.model.backbone == "tf_efficientnet_lite0" for run in found.variants.values())


def test_a_second_signal_is_left_to_the_system():
    clock = Clock()
    previous = signal.getsignal(signal.SIGUSR2)
    try:
        clock.ask(signal.SIGUSR2, None)
        assert clock.is_over and signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert programs.MARGIN[0] < programs.MARGIN[1]
