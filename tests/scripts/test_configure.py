import json
import shlex
import time
from dataclasses import replace

import numpy as np
import pytest

import config
import train
from datasets import build_split
from datasets.index import build_index
from datasets.part import SubsetSplit
from engine.training.start import Indexes, Splits
from scripts import configure, plan
from scripts.configuring import here, length, rules, search, sizes, timing
from scripts.configuring.choices import as_options, as_table
from scripts.configuring.facts import ClassFacts, DataFacts, regions, take_facts, weighted_median
from scripts.configuring.length import Length, Speed
from scripts.configuring.machine import Machine
from scripts.configuring.rules import choose_loading
from tests.conftest import make_scenes
from tests.entry_points import ROOT
from tests.test_bad_input import fails
from utils.errors import OptionError

GIB = 2**30
CPU = Machine("cpu", memory=8 * GIB, free=8 * GIB, loaders=0, has_encoder=True)
SPEED = Speed(start=10, step=0.5, epoch=0.5, validation=2, image=0.05)
POLE = ClassFacts("pole", share=0.01, labels=300, regions=4, thickness=4, span=0.3)
CAMVID = DataFacts(
    train=367, val=101, short=360, long=480, spread=1.0,
    classes=(ClassFacts("road", 0.9, 367, 1, 200, 1.3), POLE, ClassFacts("nothing", 0.0, 0)),
)  # fmt: skip


class Memory:
    """So many crops, whatever their size."""

    def __init__(self, crops: int = 100) -> None:
        self.crops = crops

    def largest_batch(self, limit: float, height: int, width: int) -> int:
        return self.crops


def shape(facts: DataFacts = CAMVID, machine: Machine = CPU, arch: str | None = None, crops: int = 100) -> dict:
    view = sizes.first_view(facts, machine)
    return as_options(search.shape(facts, machine, view, rules.choose_model(machine, arch), Memory(crops)))


def by_pixels(fixed: float, per_pixel: float):
    """A machine whose step takes `fixed` s and `per_pixel` s more for each pixel of its crops."""

    def measure(options: dict) -> Speed:
        step = fixed + per_pixel * options["bs_mult"] * options["crop_size"] ** 2
        return replace(SPEED, step=step, image=per_pixel * options["base_size"] ** 2 / 4)

    return measure


def found(measure, hours: float, facts: DataFacts = CAMVID) -> search.Found:
    return search.configure(facts, CPU, hours, measure, lambda model: Memory())


def read_recipe(name: str) -> list[str]:
    return shlex.split((ROOT / "recipes" / f"{name}.args").read_text(), comments=True)


def test_camvid_gets_its_recipe():
    recipe = vars(config.train_parser().parse_args(read_recipe("camvid_2cores")))
    chosen = shape()
    same = ("backbone", "pretrained", "crop_size", "scale_min", "scale_max", "class_uniform_tile", "bs_mult", "cache")
    same += ("num_workers", "optimizer", "lr", "weight_decay", "poly_exp", "device")
    assert {name: chosen[name] for name in same} == {name: recipe[name] for name in same}
    assert chosen["channels"] == 64 and chosen["base_size"] == 768


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"short": 1024, "long": 2048}, {"pre_size": 576, "crop_size": 512, "base_size": 1856}),
        ({"short": 64, "long": 96}, {"pre_size": 128, "crop_size": 96, "base_size": 256}),
        ({"spread": 2.0}, {"pre_size": 360, "crop_size": 320}),
        ({"classes": (replace(POLE, span=0.9, thickness=90),)}, {"scale_max": 1.5, "base_size": 480}),
        ({"classes": (replace(POLE, thickness=20),)}, {"scale_max": 2.0, "base_size": 640}),
        ({"classes": (replace(POLE, share=0.5, labels=300),) * 2}, {"class_uniform_pct": 0.5}),
        ({"classes": (replace(POLE, share=0.5, labels=367),) * 2}, {"class_uniform_pct": 0.0}),
        ({"train": 9}, {"bs_mult": 4, "lr": 0.00071}),
        ({"train": 3}, {"bs_mult": 2}),
        ({"train": 10**6}, {"cache": "off", "bs_mult": 8}),
    ],
)
def test_what_follows_from_the_data(facts, expected):
    chosen = shape(replace(CAMVID, **facts))
    assert {name: chosen.get(name) for name in expected} == expected
    assert "pre_size" in expected or "pre_size" not in chosen


@pytest.mark.parametrize(
    ("machine", "arch", "expected"),
    [
        ({"has_encoder": False}, None, {"arch": "fenet_tiny", "snapshot": CPU.small_weights, "lr": 0.003}),
        ({}, "fenet_tiny", {"arch": "fenet_tiny", "snapshot": CPU.small_weights, "backbone": None}),
        ({}, "fenet_r18", {"arch": "fenet_r18", "snapshot": None, "pretrained": None, "lr": 0.001}),
        ({}, "smp_fpn", {"arch": "smp_fpn", "pretrained": "efficientnet-lite0", "channels": None}),
        ({"device": "cuda"}, None, {"amp": "bf16", "bs_mult": 16, "channels": None, "lr": 0.0014}),
        ({"can_cache": False}, None, {"cache": "off"}),
    ],
)
def test_what_follows_from_the_machine(machine, arch, expected):
    chosen = shape(machine=replace(CPU, **machine), arch=arch)
    assert {name: chosen.get(name) for name in expected} == expected


def test_memory_limits_the_batch():
    assert shape(crops=5)["bs_mult"] == 4 and shape(crops=0)["bs_mult"] == 2


@pytest.mark.parametrize("minutes", [3, 7, 60, 1000])
@pytest.mark.parametrize("image", [0.001, 0.3])
@pytest.mark.parametrize("steps", [1, 45, 600])
def test_the_longest_run_ends_in_time(minutes, image, steps):
    speed, budget = replace(SPEED, image=image, step=0.1), 60 * minutes
    run = length.longest(speed, steps, 101, budget)
    assert run.seconds(speed) <= length.AIM * budget
    validating = speed.validation + 101 * image
    few = run.epochs < length.FEW_EPOCHS  # one more step, perhaps with an epoch and its validation, is too much
    more = speed.step + speed.epoch + validating if few else steps * speed.step + speed.epoch + validating
    assert run.seconds(speed) + more > length.AIM * budget
    assert 1 <= run.validations <= length.MOST_VALIDATIONS
    assert run.validations == 1 or run.validations * validating <= length.VALIDATING * budget


def test_seconds_are_those_of_the_trainer_s_rhythm():
    run = Length(steps=70, val_every=3, steps_per_epoch=10, val_images=100)
    assert run.validations == 3  # after 3, 6 and 7
    assert run.seconds(SPEED) == 10 + 70 * 0.5 + 7 * 0.5 + 3 * (2 + 5)
    assert replace(run, steps=61).seconds(SPEED) == run.seconds(SPEED) - 9 * 0.5


def test_steps_of_one_more_epoch_fill_the_time():
    speed = Speed(start=10, step=1, epoch=1, validation=5, image=0.05)
    run = length.longest(speed, 100, 100, 300)  # of 285 s start, saves and validations take 43
    assert (run.steps, run.epochs, run.validations) == (242, 3, 3)
    assert as_options(length.choose_length(run, speed, 300)) == {"max_iters": 242, "val_every": 1}
    whole = replace(run, steps=200)
    assert as_options(length.choose_length(whole, speed, 300)) == {"max_epoch": 2, "val_every": 1}


def test_a_budget_that_is_too_small_says_what_is_enough():
    with pytest.raises(OptionError, match="--hours 0.004: one epoch of 45 steps") as refused:
        found(by_pixels(0.5, 0.0), 0.004)
    enough = float(str(refused.value).split("give --hours ")[1].split()[0])
    assert 1 <= found(by_pixels(0.5, 0.0), enough).length.epochs <= 2


def test_a_slow_machine_sees_smaller_images():
    fast, slow = (found(by_pixels(0.0, seconds), 0.3) for seconds in (5e-7, 2e-5))
    assert as_options(fast.choices)["crop_size"] == 320 and "pre_size" not in as_options(fast.choices)
    assert as_options(slow.choices)["crop_size"] < 320 and slow.length.steps >= 100
    for run in (fast, slow):
        assert 0.9 * 1080 < run.length.seconds(run.speed) <= 1080


def test_images_stay_where_smaller_ones_save_no_time():
    run = found(by_pixels(3.0, 1e-8), 0.1)
    assert as_options(run.choices)["crop_size"] == 320


@pytest.mark.parametrize(("images", "size"), [(1000, 768), (1500, 640), (3000, 480)])
def test_enlarged_images_that_take_too_long_to_validate(images, size):
    run = found(by_pixels(0.0, 1e-6), 0.3, replace(CAMVID, val=images))
    assert as_options(run.choices)["base_size"] == size and run.inference_size == 768


def test_warm_up_and_average_follow_from_the_steps():
    assert as_options(length.choose_averages(1800)) == {"warmup_steps": 90, "ema": 0.9978}  # the recipe's 100, 0.998
    assert as_options(length.choose_averages(10)) == {"warmup_steps": 0, "ema": 0.9}
    assert as_options(length.choose_averages(10**6)) == {"warmup_steps": 100, "ema": 0.999}


def test_regions_of_a_label():
    label = np.full((10, 20), 255, np.uint8)
    label[:, :3] = label[4, 8:18] = 0
    label[0, 10] = 1
    seen = regions(label)
    assert sorted(seen) == [0, 1] and seen[1].tolist() == [[1, 1, 0.1]]
    assert sorted(seen[0].tolist()) == [[10, 1, 1], [30, 3, 1]]
    assert weighted_median(np.array([5.0, 1.0, 9.0]), np.array([10, 30, 1])) == 1


def test_facts_of_samples_that_are_drawn(tmp_path):
    split = SubsetSplit(build_split("synthetic", tmp_path, "train"), range(2))
    facts = take_facts(Splits(split, split), Indexes(*2 * [build_index(split)]))
    height, width = split.load_image(0).shape[:2]
    assert (facts.train, facts.val, facts.short, facts.long, facts.spread) == (2, 2, height, width, 1.0)
    assert sum(item.share for item in facts.classes) == pytest.approx(1)
    road = facts.classes[0]
    assert (road.name, road.labels) == ("road", 2) and road.regions >= 1 and road.span > 0.5
    assert facts.thinnest.thickness < road.thickness and facts.rarest.share < road.share


def test_the_stopwatch_knows_steps_from_ends_of_epochs(monkeypatch):
    # two steps of an epoch; the first epoch is slow, an epoch's end takes 5
    ticks = iter([0, 90, 95, 100, 101, 103, 108, 109, 111, 116, 117, 119])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    watch = timing.Stopwatch(seconds=12, steps=2)
    assert [watch.asked for _ in range(12)] == [False] * 11 + [True]
    assert watch.result() == (1.5, 5.0, 6)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp("scenes"), 4, 32, 48)


def test_the_file_trains_and_every_option_has_its_reason(scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(here, "measure", lambda *_: SPEED)
    out = tmp_path / "made" / "yard.json"
    argv = ["--dataset", "folder", "--data_root", str(scenes), "--hours", "0.1", "--arch", "fenet_tiny"]
    assert configure.main([*argv, "--out", str(out)]) == 0
    text, options = capsys.readouterr().out, json.loads(out.read_text())
    parsed = config.parse_train(["--options_from", str(out)]).to_dict()
    assert (
        parsed["exp"] == "yard" and parsed["data_root"] == str(scenes) and parsed["max_epoch"] == options["max_epoch"]
    )
    why = json.loads(out.with_name("yard.reasons.json").read_text())
    assert [row["name"] for row in why["options"]] == list(options)
    assert all(row["reason"] and row["name"] in text for row in why["options"])
    assert 0.9 * 360 < why["expected"]["seconds"] <= 360 and why["data"]["train"] == 4
    assert f"python train.py --options_from {out}" in text
    assert sorted(path.name for path in out.parent.iterdir()) == ["yard.json", "yard.reasons.json"]


def test_a_table_fits_a_terminal():
    lines = as_table(found(by_pixels(0.1, 1e-7), 1).choices)
    assert max(map(len, lines)) <= 120 and len(lines) > 20


def test_plan_and_configure_are_one(tmp_path, capsys):
    gpus = ["--gpus", "1", "--memory", "24", "--arch", "fenet_tiny"]
    for program, out in ((plan, "a.json"), (configure, "b.json")):
        assert program.main([*gpus, "--out", str(tmp_path / out)]) == 0
    printed = capsys.readouterr().out
    half = len(printed) // 2
    assert printed[:half] == printed[half:].replace("b.json", "a.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


def test_the_recipe_for_other_data(scenes, tmp_path, capfd, monkeypatch):
    out = tmp_path / "o.json"
    data = ["--dataset", "folder", "--data_root", str(scenes)]
    argv = ["--gpus", "4", "--memory", "24", "--arch", "fenet_tiny", "--out", str(out)]
    fails(capfd, 3, configure.main, [*argv, *data], "train has 4 images, and a step of the recipe takes 8 crops")
    fails(capfd, 2, configure.main, [*argv, *data[2:]], "--data_root", "name its --dataset, too")
    fails(capfd, 2, configure.main, [*argv, *data, "--device", "cpu"], "--device cpu: nothing is timed")
    monkeypatch.setattr(configure, "has_cuda", lambda: True)
    timed = [*argv, *data, "--gpus", "1", "--hours", "1", "--device", "cpu"]
    fails(capfd, 2, configure.main, timed, "--device cpu --gpus")
    scenes = make_scenes(tmp_path / "more", 8, 32, 48)
    data[-1] = str(scenes)
    assert configure.main(["--gpus", "4", "--memory", "24", "--arch", "fenet_tiny", *data, "--out", str(out)]) == 0
    options = json.loads(out.read_text())
    assert (options["dataset"], options["data_root"]) == ("folder", str(scenes))
    assert options["crop_size"] == options["class_uniform_tile"] == 32  # the images are 48x32
    recipe = 100_000 / 1024**2  # the share of its pixels that OHEM keeps
    assert options["ohem_min_kept"] / (options["bs_mult"] * 32**2) == pytest.approx(recipe, rel=0.01)
    assert "crops of 32 instead of 1024" in capfd.readouterr().out
    config.parse_train(["--options_from", str(out)]).for_processes(4)


@pytest.mark.slow
def test_a_run_is_timed_configured_and_trained(scenes, tmp_path, capsys):
    out, hours = tmp_path / "o.json", 0.005
    argv = ["--dataset", "folder", "--data_root", str(scenes), "--arch", "fenet_tiny", "--device", "cpu"]
    assert configure.main([*argv, "--hours", str(hours), "--out", str(out)]) == 0
    speed = json.loads(out.with_name("o.reasons.json").read_text())["speed"]
    assert min(speed[name] for name in ("start", "step", "epoch", "image")) > 0 and speed["steps"] >= 4
    start = time.monotonic()
    assert train.main(["--options_from", str(out), "--ckpt", str(tmp_path)]) == 0
    assert time.monotonic() - start < 3 * 3600 * hours  # other programs may have come
    lines = (tmp_path / "o" / "metrics.jsonl").read_text().splitlines()
    options = json.loads(out.read_text())
    assert json.loads(lines[-1])["step"] == options.get("max_iters", 2 * options.get("max_epoch", 0))


@pytest.mark.slow
def test_hours_that_are_too_few_are_known_after_the_timing(scenes, tmp_path, capsys):
    argv = ["--dataset", "folder", "--data_root", str(scenes), "--arch", "fenet_tiny", "--hours", "0.0001"]
    assert configure.main([*argv, "--device", "cpu", "--out", str(tmp_path / "o.json")]) == 2
    assert "--hours 0.0001: one epoch of 2 steps" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["--hours", "0"], "--hours 0"),
        (["--hours", "-1"], "--hours -1"),
        (["--hours", "nan"], "--hours nan"),
        (["--hours", "1e9"], "--hours 1e+09"),
        (["--gpus", "2"], "--gpus: needs --memory GIB"),
        (["--memory", "8"], "--memory: needs --gpus N"),
        (["--gpus", "0", "--memory", "8"], "--gpus 0"),
        (["--gpus", "1", "--memory", "1e300"], "--memory 1e+300"),
        (["--gpus", "2", "--memory", "8", "--hours", "1"], "--gpus 2 --hours 1"),
        (["--arch", "resnet"], "--arch resnet"),
        (["--dataset", "cityscape"], "cityscape"),
        (["--out", "."], "--out ."),
    ],
)
def test_refused_before_anything_is_looked_at(argv, flag, scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(here, "open_splits", None)
    plain = ["--dataset", "folder", "--data_root", str(scenes), "--out", str(tmp_path / "made" / "o.json")]
    assert configure.main([*plain, *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and flag in error
    assert not (tmp_path / "made").exists()


def test_no_data_set_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(configure, "has_cuda", lambda: True)
    for more in ([], ["--gpus", "1", "--memory", "8", "--hours", "1"]):
        assert configure.main(["--out", str(tmp_path / "o.json"), *more]) == 2
        assert "--dataset" in capsys.readouterr().err


def test_the_file_names_the_gpu_that_was_timed():
    chosen = choose_loading(CAMVID, replace(CPU, device="cuda:1"))
    assert as_options(chosen)["device"] == "cuda:1"
