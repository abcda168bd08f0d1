"""From a snapshot to files of other runtimes, and eval.py and demo_folder.py on these."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo_folder
import eval as evaluation
from datasets import build_split
from engine.checkpoint import load_snapshot
from engine.export.options import ExportOptions
from engine.export.samples import calibration_images
from engine.inference import exported
from engine.inference.precision import settle_precision
from scripts import export
from tests.conftest import make_scenes, save_untrained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """`net.pth` and a data set of 64x96 below `data`."""
    base = tmp_path_factory.mktemp("place")
    make_scenes(base / "data", 6, 64, 96, ignore=True)
    classes = build_split("folder", base / "data", "val").classes
    save_untrained(base / "net.pth", "fenet_tiny", classes, "folder", channels=8, fem_d=False)
    return base


@pytest.fixture(scope="module")
def onnx_file(place) -> Path:
    outputs = ("--outputs", "confidence,labels")
    assert run(place, "--format", "onnx", *outputs, "--data_root", str(place / "data")) == 0
    return place / "out" / "model.onnx"


@pytest.fixture(scope="module")
def int8_file(place) -> Path:
    images = ("--calibration", str(place / "data" / "images"))  # the splits are folders in it
    assert run(place, "--format", "openvino-int8", "--size", "64,96", *images, "--min_agreement", "0.8") == 0
    return place / "out" / "model_int8.xml"


def test_int8_is_calibrated_on_the_training_split_where_no_folder_is_named(place):
    options = ExportOptions(out="x", format="onnx-int8", data_root=str(place / "data"))
    split = calibration_images(options, {"dataset": "folder"})
    assert split.split == "train" and split.names == build_split("folder", place / "data", "train").names


def run(base: Path, *more: str) -> int:
    return export.main(["--snapshot", str(base / "net.pth"), "--out", str(base / "out"), *more])


def evaluate(base: Path, snapshot: Path, out: Path, *more: str) -> dict:
    argv = ["--snapshot", str(snapshot), "--data_root", str(base / "data"), "--save_dir", str(out)]
    assert evaluation.main([*argv, "--num_workers", "0", "--device", "cpu", *more]) == 0
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.slow
def test_what_is_written(place, onnx_file, int8_file):
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        *("model.onnx", "model.onnx.json", "model_int8.bin", "model_int8.xml", "model_int8.xml.json")
    ]
    about = json.loads((place / "out" / "model.onnx.json").read_text())
    assert about["size"] is None and about["precision"] == "float32" and about["config"]["arch"] == "fenet_tiny"
    assert about["parity"]["images"] == 3 and about["parity"]["agreement"] > 0.999
    assert about["parity"]["mean_iou"] == pytest.approx(about["parity"]["exported_mean_iou"], abs=1e-3)
    assert about["outputs"] == ["labels", "confidence"]
    assert [batch["shape"] for batch in about["parity"]["batches"]] == [[1, 64, 96], [3, 67, 67], [1, 64, 64]]
    assert all(b["agreement"] > 0.999 and 0 <= b["confidence"] < 1e-4 for b in about["parity"]["batches"])
    graph = onnx.load(onnx_file).graph
    sides = {v.name: [side.dim_param for side in v.type.tensor_type.shape.dim] for v in [*graph.input, *graph.output]}
    assert sides["image"][:3] == sides["labels"] == sides["confidence"] == ["batch", "height", "width"]
    about = json.loads((place / "out" / "model_int8.xml.json").read_text())
    assert about["size"] == [64, 96] and about["precision"] == "int8" and about["parity"]["mean_iou"] is None
    assert about["classes"] == load_snapshot(place / "net.pth")["classes"]
    assert set(about["sha256"]) == {"model_int8.xml", "model_int8.bin"}


@pytest.mark.slow
def test_eval_gives_the_scores_of_the_snapshot(place, onnx_file, int8_file, tmp_path):
    expected = evaluate(place, place / "net.pth", tmp_path / "torch", "--amp", "off")
    ours = evaluate(place, onnx_file, tmp_path / "onnx", "--dump_images", "--report")
    int8 = evaluate(place, int8_file, tmp_path / "int8", "--runtime", "openvino", "--report")
    for kind, metrics, file in (("onnx", ours, onnx_file), ("int8", int8, int8_file)):
        page = (tmp_path / kind / "report.html").read_text()
        assert f"<h1>{file.name} on folder val</h1>" in page and f"{100 * metrics['mean_iou']:.2f}" in page
    assert ours["loss"] is None and expected["loss"] > 0
    counts = [np.array(metrics["confusion_matrix"]) for metrics in (expected, ours, int8)]
    assert abs(counts[0] - counts[1]).sum() <= 4 and 0 < abs(counts[0] - counts[2]).sum() < 0.4 * counts[0].sum()
    assert all(len(np.flatnonzero(matrix.sum(0))) > 1 for matrix in counts)
    prediction = np.array(Image.open(tmp_path / "onnx" / "pred" / "000.png"))
    assert prediction.shape == (64, 96) and prediction.max() < 4


@pytest.mark.slow
def test_demo_needs_nothing_but_the_file(place, onnx_file, tmp_path):
    (tmp_path / "in").mkdir()
    for name, size in (("a", (70, 90)), ("b", (129, 64))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)).save(
            tmp_path / "in" / f"{name}.png"
        )
    argv = ["--demo_folder", str(tmp_path / "in"), "--device", "cpu", "--amp", "off"]
    for snapshot, out in ((place / "net.pth", "torch"), (onnx_file, "onnx")):
        assert demo_folder.main([*argv, "--snapshot", str(snapshot), "--save_dir", str(tmp_path / out)]) == 0
    small = ["--snapshot", str(onnx_file), "--save_dir", str(tmp_path / "small"), "--max_pixels", "7000"]
    assert demo_folder.main([*argv, *small]) == 0  # one is skipped
    assert not (tmp_path / "small" / "color_mask_b.png").exists()
    for name in ("a", "b"):
        masks = [np.array(Image.open(tmp_path / out / f"color_mask_{name}.png")) for out in ("torch", "onnx")]
        assert (masks[0] == masks[1]).mean() > 0.999 and len(np.unique(masks[0].reshape(-1, 3), axis=0)) > 1


@pytest.mark.slow
def test_openvino_computes_in_the_precision_that_is_asked_for(place, int8_file, tmp_path, monkeypatch, capsys):
    core, hints = exported.openvino_core(), []

    class Watched:
        read_model = core.read_model

        def compile_model(self, model, device, settings):
            hints.append(settings["INFERENCE_PRECISION_HINT"])
            return core.compile_model(model, device, settings)

    monkeypatch.setattr(exported, "openvino_core", Watched)
    auto = settle_precision("auto", "inference", exported.CPU, "fenet_tiny", runtime="openvino int8").amp
    for words, amp in (("--precision bf16", "bf16"), ("--amp off", "off"), ("--precision f32", "off"), ("", auto)):
        metrics = evaluate(place, int8_file, tmp_path / "out", "--test_mode", *words.split())
        assert metrics["protocol"]["amp"] == amp
        assert f"precision: {'float32' if amp == 'off' else amp} (" in capsys.readouterr().out
    assert hints == ["bf16", "f32", "f32", "f32" if auto == "off" else auto]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--scales", "0.5,1.0"),
        ("--flip",),
        ("--inference_mode", "sliding"),
        ("--base_size", "64"),
        ("--amp", "bf16"),
        ("--arch", "fenet_tiny"),
        ("--device", "cuda"),
    ],
)
def test_what_a_file_of_labels_cannot_do_is_refused(place, onnx_file, tmp_path, flags, capsys):
    argv = ["--snapshot", str(onnx_file), "--data_root", str(place / "data")]
    assert evaluation.main([*argv, "--save_dir", str(tmp_path), *flags]) == 2
    message = capsys.readouterr().err
    assert flags[0] in message and "leave the flag out" in message and message.count("\n") == 1


@pytest.mark.slow
def test_another_runtime_or_data_set_is_refused(place, onnx_file, tmp_path, capsys):
    argv = ["--snapshot", str(onnx_file), "--save_dir", str(tmp_path), "--device", "cpu"]
    data = ["--data_root", str(place / "data")]
    assert evaluation.main([*argv, *data, "--runtime", "openvino"]) == 4
    assert ".xml" in capsys.readouterr().err
    assert demo_folder.main([*argv, "--demo_folder", str(place / "data/images/val"), "--dataset", "camvid"]) == 4
    assert "was trained on 4 classes" in capsys.readouterr().err


@pytest.mark.slow
def test_odd_descriptions_are_no_models(onnx_file, tmp_path, capsys):
    def refused(path: Path) -> str:
        argv = ["--snapshot", str(path), "--source", str(tmp_path), "--save_dir", str(tmp_path / "out")]
        assert demo_folder.main(argv) == 4
        return capsys.readouterr().err

    (tmp_path / "a.png").touch()
    model = onnx.load(onnx_file)
    for odd in ({"classes": []}, {"size": 5}, {"mean": [0.5]}, {"config": None}):
        changed, entries = onnx.ModelProto(), {entry.key: entry.value for entry in model.metadata_props}
        changed.CopyFrom(model)
        (key,) = entries
        onnx.helper.set_model_props(changed, {key: json.dumps(json.loads(entries[key]) | odd)})
        onnx.save(changed, tmp_path / "odd.onnx")
        assert "odd.onnx: says neither classes nor normalisation" in refused(tmp_path / "odd.onnx")
    for part in (*model.graph.node, *model.graph.output):
        for names in (part.output if hasattr(part, "output") else [],):
            names[:] = ["ids" if name == "labels" else name for name in names]
        if getattr(part, "name", "") == "labels":
            part.name = "ids"
    onnx.save(model, tmp_path / "other.onnx")
    assert "other.onnx: not a usable ONNX file (it has no output called labels)" in refused(tmp_path / "other.onnx")


@pytest.mark.slow
def test_labels_that_differ_too_much_leave_no_file(place, tmp_path, capsys):
    argv = ["--snapshot", str(place / "net.pth"), "--out", str(tmp_path), "--size", "64,96"]
    argv += ["--calibration", str(place / "data" / "images" / "val")]
    assert export.main([*argv, "--format", "openvino-int8", "--min_agreement", "1"]) == 4  # 8 bits change labels
    assert "no file is kept" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert export.main([*argv, "--format", "torch", "--min_agreement", "1"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt2", "model.pt2.json"]


@pytest.mark.parametrize(
    "flags,what",
    [
        ((), "--calibration"),
        (("--format", "openvino-int8"), "--calibration"),
        (("--calibration", "/nowhere"), "/nowhere"),
        (("--data_root", "x", "--dynamic", "--size", "64,64"), "--dynamic"),
        (("--data_root", "x", "--size", "64"), "--size"),
        (("--data_root", "x", "--outputs", "confidence"), "--outputs"),
        (("--data_root", "x", "--num_images", "0"), "--num_images"),
        (("--data_root", "x", "--int8_budget", "0.2"), "--int8_budget"),
        (("--calibration", "small"), "small.png: 96x63 pixels"),
        (
            ("--data_root", "void", "--calibration", "void", "--int8_budget", "1", "--format", "onnx-int8"),
            "no labels to",
        ),
    ],
)
def test_bad_options_are_one_line(place, tmp_path, flags, what, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    Image.new("RGB", (96, 63)).save(tmp_path / "small" / "small.png")
    for path in (make_scenes(tmp_path / "void", 2, 64, 96) / "masks" / "val").iterdir():
        Image.new("L", (96, 64), 255).save(path)
    argv = ["--snapshot", str(place / "net.pth"), "--out", str(tmp_path / "out"), "--format", "onnx"]
    assert export.main([*argv, *flags]) in (2, 3)
    message = capsys.readouterr().err
    assert what in message and message.count("\n") == 1 and not (tmp_path / "out").exists()
