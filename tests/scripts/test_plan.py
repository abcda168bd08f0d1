import json
from types import SimpleNamespace

import pytest

import config
from engine.training.memory import usable_memory
from scripts import plan
from scripts.configuring import gpu_plan
from scripts.doctor_checks import machine
from tests.scripts.test_shell import Place
from utils.errors import EnvironmentFault

GIB = 2**30


class Memory:
    """So many GiB for each crop of 1024."""

    fixed = 0

    def __init__(self, per_crop: float) -> None:
        self.per_pixel = per_crop * GIB / 1024**2

    def total(self, batch: int, height: int, width: int) -> float:
        return self.per_pixel * batch * height * width

    def largest_crop(self, limit: float, batch: int) -> int:
        return int((limit / batch / self.per_pixel) ** 0.5) // 32 * 32


def best(gpus: int, gib: float, crops: int = 8, per_crop: float = 4) -> gpu_plan.Plan:
    memory = {"off": Memory(per_crop), "bf16": Memory(per_crop / 2)}
    return gpu_plan.best_plan(gpus, gib * GIB, memory.__getitem__, crops, 1024)


@pytest.mark.parametrize(
    ("gpus", "gib", "expected"),
    [
        (8, 40, (8, 1, 1, 1024, "off")),  # the recipe itself
        (16, 40, (8, 1, 1, 1024, "off")),
        (4, 9, (4, 2, 1, 1024, "off")),
        (4, 5, (4, 2, 1, 1024, "bf16")),  # norms over all crops come before float32
        (3, 17, (2, 4, 1, 1024, "off")),  # three don't divide eight
        (1, 33, (1, 8, 1, 1024, "off")),
        (1, 5, (1, 2, 4, 1024, "bf16")),
        (1, 1, (1, 2, 4, 512, "bf16")),  # a batch of 1 alone can't be normed
        (2, 1, (2, 1, 4, 704, "bf16")),
    ],
)
def test_what_gives_way_first(gpus, gib, expected):
    found = best(gpus, gib)
    assert (found.processes, found.batch, found.accumulate, found.crop, found.amp) == expected
    assert found.crops == 8 and found.needed <= gib * GIB


def test_nothing_fits():
    with pytest.raises(EnvironmentFault, match="--memory"):
        best(1, 0.1)


def test_the_doctor_says_of_a_plan_that_it_fits_and_of_float32_that_it_doesn_t(monkeypatch):
    memory = {"off": Memory(4), "bf16": Memory(2)}
    monkeypatch.setattr(machine, "build_step_memory", lambda config, _: memory[config.compute.amp])
    monkeypatch.setattr(machine, "_less", lambda *_: "")

    def fits(gib: float, batch: int, amp: str) -> bool:
        options = config.parse_train(["--bs_mult", str(batch), "--amp", amp])
        split = SimpleNamespace(classes=SimpleNamespace(num_classes=19))
        run = SimpleNamespace(config=options, splits={"train": split}, gpu_memory=gib, details={})
        run.plan = SimpleNamespace(crop=SimpleNamespace(size=(1024, 1024)))
        (finding,) = machine.check_memory(run)
        return finding.severity == "ok"

    chosen = set()
    for quarters in range(20, 160):
        gib = quarters / 4
        found = gpu_plan.best_plan(4, usable_memory(gib * GIB), memory.__getitem__, 8, 1024)
        chosen.add(found.amp)
        assert fits(gib, found.batch, found.amp)
        assert found.amp == "off" or not fits(gib, found.batch, "off")
    assert chosen == {"off", "bf16"}


def test_eight_large_gpus_get_the_script_s_recipe(tmp_path, capsys):
    out = tmp_path / "plan.json"
    assert plan.main(["--gpus", "8", "--memory", "80", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "Equivalent to the recipe." in text
    assert f"torchrun --standalone --nproc_per_node=8 train.py --options_from {out}" in text
    planned = config.parse_train(["--options_from", str(out)]).for_processes(8).to_dict()
    place = Place(tmp_path)
    place.run("train_cityscapes_fenet_res18.sh")
    script = config.parse_train(place.recorded("train.py")).to_dict()
    spelt = {"syncbn", "norm", "global_batch", "ckpt", "exp"}  # the same, said in other words; and the place
    assert {name for name in script if script[name] != planned[name]} == spelt


def test_one_small_gpu(tmp_path, capsys):
    out = tmp_path / "plan.json"
    argv = ["--gpus", "1", "--memory", "8", "--arch", "sfnet_r18", "--out", str(out)]
    assert plan.main(argv) == 0
    text, options = capsys.readouterr().out, json.loads(out.read_text())
    assert "Not equivalent:\n" in text and "norm statistics over" in text and "python train.py" in text
    config.parse_train(["--options_from", str(out)]).for_processes(1)
    assert options["global_batch"] == 16 and options["lr"] == 0.01 and options["norm"] == "plain"
    assert options["ohem_min_kept"] == 100_000 * options["bs_mult"] / 2


@pytest.mark.parametrize(
    "argv", [["--gpus", "0", "--memory", "8"], ["--gpus", "1", "--memory", "nan"], ["--gpus", "1"]]
)
def test_refused(argv):
    assert plan.main(argv) == 2
