"""`--amp auto`: one function for every program, kept by a run that resumes."""

import json
import re

import pytest
import torch

import demo_folder
import eval as evaluation
import train
from config import parse_train
from engine.checkpoint import load_snapshot
from engine.inference import precision
from engine.inference.precision import (
    AGREEMENTS,
    MOST_POINTS,
    Choice,
    check_processes,
    choose_precision,
    expected_speed,
    is_computed_here,
    model_kind,
    warn_if_emulated,
)
from engine.training.options import ComputeOptions
from engine.training.precision import choose_for_run
from network import list_models
from scripts.doctor_checks.machine import in_its_precision
from scripts.doctor_checks.visit import Visit
from tests.conftest import eval_args, train_args
from tests.processes import ROOT
from utils import processor
from utils.errors import OptionError

EMULATED = "WARNING: --amp bf16: this CPU has none of amx_bf16, avx512_bf16 and emulates them"
AVX512, AMX, NEITHER = {"avx512_bf16"}, {"avx512_bf16", "amx_bf16"}, set()


@pytest.mark.parametrize(
    ("arguments", "more", "amp", "said"),
    [
        (("training", "cpu", "timm", NEITHER), {}, "off", "this CPU has none of amx_bf16, avx512_bf16"),
        (("training", "cpu", "timm", AVX512), {}, "bf16", "avx512_bf16; measured: convolutions 2 times as fast"),
        (("training", "cpu", "smp", AMX), {}, "bf16", "amx_bf16; measured: convolutions 8.6 times as fast"),
        (("training", "cpu", "other", {"amx_bf16"}), {}, "bf16", "amx_bf16"),
        (("training", "cpu", "timm", AMX), {"deterministic": True}, "off", "--deterministic"),
        (("training", "cuda", "timm", AMX), {}, "off", "--amp bf16 asks for it"),
        (("inference", "cuda", "timm", AMX), {}, "off", "--amp bf16 asks for it"),
        (("inference", "cpu", "timm", NEITHER), {}, "off", "none of"),
        (("inference", "cpu", "timm", AVX512), {}, "bf16", "docs/results/bf16_camvid_fenet.json"),
        (("inference", "cpu", "resnet", AMX), {}, "bf16", "docs/results/bf16_fenet_tiny.json"),
        (("inference", "cpu", "smp", AMX), {}, "off", "changes labels of smp models"),
        (("inference", "cpu", "other", AMX), {}, "off", "wasn't measured for other models"),
        (("inference", "cpu", "timm", AMX), {"runtime": "openvino"}, "bf16", "amx_bf16"),
        (("inference", "cpu", "smp", AMX), {"runtime": "openvino"}, "off", "changes labels"),
        (("inference", "cpu", "timm", AMX), {"runtime": "onnx"}, "off", "as the ONNX file has it"),
    ],
)
def test_made_up_machines(arguments, more, amp, said):
    choice = choose_precision(*arguments, **more)
    assert choice.amp == amp and said in choice.reason and choice.reason.startswith("auto: ")
    assert str(choice).startswith("float32 (auto: " if amp == "off" else "bf16 (auto: ")


def test_the_table_is_what_the_receipts_say():
    for (runtime, kind), row in AGREEMENTS.items():
        receipt = json.loads((ROOT / f"docs/results/{row.receipt}.json").read_text())
        found = receipt["runtimes"][runtime]
        assert receipt["kind"] == kind == model_kind(receipt["arch"]) and len(receipt["snapshot_sha256"]) == 64
        points = 100 * (found["mean_iou"]["bf16"] - found["mean_iou"]["off"])
        assert (row.points, row.differ) == (round(points, 3), round(found["labels_differ"], 4))
    assert 0 < MOST_POINTS <= 0.05 and all(expected_speed({name})[1] > 1 for name in processor.BF16)
    assert expected_speed(AMX) == ("amx_bf16", 8.6) and expected_speed(NEITHER) == (None, 0)
    assert {model_kind(name) for name in list_models()} >= {"resnet", "timm", "smp"} and model_kind("mine") == "other"


@pytest.mark.parametrize(
    ("flags", "limit", "found"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", None, AMX),
        ("fpu avx512f avx512_bf16", "", AVX512),
        ("fpu avx512f avx512_bf16_not", None, NEITHER),
        ("fpu avx512_bf16 amx_bf16", "avx512_core_bf16", AVX512),
        ("fpu avx512_bf16 amx_bf16", "AVX512_CORE_AMX", AMX),
        ("fpu avx512_bf16 amx_bf16", "AVX2", NEITHER),
    ],
)
def test_instructions(flags, limit, found, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    for name in processor.LIMITS:
        monkeypatch.delenv(name, raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor.bf16_instructions() == found
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert processor.bf16_instructions() == NEITHER


@pytest.fixture
def machine(monkeypatch):
    def become(instructions: set) -> None:
        monkeypatch.setattr(precision, "bf16_instructions", lambda: frozenset(instructions))

    return become


def digest(out: str) -> str:
    return re.findall(r"final weights sha256: (\w+)", out)[-1]


@pytest.mark.parametrize("major", [7, 8])
def test_a_gpu_older_than_ampere_has_no_bf16_instructions(monkeypatch, major):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or major >= 8)
    said, cuda = [], torch.device("cuda")
    monkeypatch.setattr(precision.get_logger(), "warning", said.append)
    assert is_computed_here("fp16", cuda) and is_computed_here("bf16", cuda) == (major >= 8)
    for amp in ("off", "fp16", "bf16"):
        warn_if_emulated(Choice(amp, f"--amp {amp}"), cuda)
    warning = "--amp bf16: this GPU is older than Ampere and emulates it, slowly; --amp fp16 is fast here"
    assert said == ([] if major >= 8 else [warning])


def test_a_run_keeps_its_precision(scenes, tmp_path, machine, capsys):
    def run(exp: str, steps: int, *more: str, code: int = 0) -> str:
        argv = train_args(scenes, tmp_path, "--exp", exp, "--max_steps", str(steps), *more)
        assert train.main(argv) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    def amp(exp: str) -> tuple[str, str]:
        settings = load_snapshot(tmp_path / exp / "last.pth")["training"]["settings"]
        return json.loads((tmp_path / exp / "config.json").read_text())["amp"], settings["amp"]

    machine(AVX512)
    assert "; precision: bf16 (auto: this CPU has avx512_bf16; measured: " in run("auto", 1)
    assert amp("auto") == ("bf16", "'bf16'")
    assert "precision: bf16 (auto: as the run that is resumed)" in (half := run("auto", 2))
    assert digest(half) == digest(run("named", 2, "--amp", "bf16"))
    plain = run("plain", 1, "--deterministic")
    assert "precision: float32 (auto: --deterministic)" in plain and amp("plain") == ("off", "'off'")
    assert digest(plain) == digest(run("off", 1, "--amp", "off", "--deterministic"))
    run("off", 2, "--deterministic")
    assert amp("off") == ("off", "'off'")  # on a machine that would choose bf16

    machine(NEITHER)
    error = run("auto", 3, code=2)
    assert "was trained in bf16, for which this machine has no instructions; --resume_override" in error
    assert error.count("error: ") == 1 and amp("auto") == ("bf16", "'bf16'")
    said = run("auto", 3, "--resume_override")
    assert "amp was bf16, is off" in said and "precision: float32 (auto: this CPU has none of" in said
    assert amp("auto") == ("off", "'off'")
    assert "precision: bf16 (--amp bf16)" in (said := run("named", 3, "--amp", "bf16"))
    assert said.count(EMULATED) == 1 and EMULATED not in half + plain


def test_programs_agree(scenes, tmp_path, trained, machine, capsys):
    for instructions, amp, beginning in ((AMX, "bf16", "bf16 (auto: "), (NEITHER, "off", "float32 (auto: ")):
        machine(instructions)
        assert evaluation.main(eval_args(trained.best, trained.data, tmp_path / amp, "--test_mode")) == 0
        said = re.findall(r"precision: (.*)", capsys.readouterr().out)
        folder, out = scenes / "images" / "val", tmp_path / "demo"
        argv = ["--snapshot", str(trained.best), "--demo_folder", str(folder), "--save_dir", str(out)]
        assert demo_folder.main([*argv, "--device", "cpu"]) == 0
        said += re.findall(r"precision: (.*)", capsys.readouterr().out)
        assert len(said) == 2 and said[0] == said[1] and said[0].startswith(beginning)
        asked = eval_args(trained.best, trained.data, tmp_path / f"{amp}_asked", "--test_mode", "--amp", "bf16")
        assert evaluation.main(asked) == 0
        assert (EMULATED in capsys.readouterr().out) == (amp == "off")
        assert json.loads((tmp_path / amp / "metrics.json").read_text())["protocol"]["amp"] == amp


def test_validation_scores_as_eval_does(machine):
    def chosen(arch: str, resumed: str | None = None, **options) -> tuple[str, ...]:
        found = choose_for_run(ComputeOptions(**options), arch, torch.device("cpu"), resumed)
        return tuple(choice.amp for choice in found)

    machine(AVX512)
    assert chosen("fenet") == chosen("smp_fpn", amp="bf16") == ("bf16", "bf16")
    assert chosen("smp_fpn") == chosen("smp_fpn", resumed="bf16") == ("bf16", "off")
    assert chosen("fenet", resumed="off") == chosen("fenet", deterministic=True) == ("off", "off")
    machine(NEITHER)
    assert chosen("fenet") == ("off", "off") and chosen("fenet", amp="bf16") == ("bf16", "bf16")


def test_the_doctor_plans_with_it(machine):
    machine(AMX)
    config = parse_train(["--arch", "fenet_tiny", "--device", "cpu"])
    found = [in_its_precision(Visit(config, ROOT, False, 0, memory)).compute.amp for memory in (None, 8.0)]
    assert found == ["bf16", "off"]


def test_processes_whose_processors_differ(monkeypatch):
    choice = choose_precision("training", "cpu", "timm", AMX)
    monkeypatch.setattr(precision.distributed, "gather_objects", lambda amp: [amp, amp])
    check_processes(choice)
    monkeypatch.setattr(precision.distributed, "gather_objects", lambda amp: [amp, amp, "off"])
    with pytest.raises(OptionError, match="bf16 on rank 0 and off on rank 2.*give all processes --amp off"):
        check_processes(choice)
