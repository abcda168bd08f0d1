"""What is written and read back; scripts/export.py itself is tested in tests/scripts."""

import copy
import gc
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.export.formats import write_onnx, write_openvino, write_torch_export
from engine.export.int8 import Quantiser, part_of
from engine.export.program import check_opens, export_program
from engine.inference.exported import load_exported, openvino_core
from network.fusing import ImageToLabels
from utils.errors import CheckpointError, DataError, EnvironmentFault, OptionError

onnx, openvino = pytest.importorskip("onnx"), pytest.importorskip("openvino")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

CLASSES = {"names": ["a", "b", "c"], "palette": [[0, 0, 0]] * 3, "label_ids": [0, 1, 2], "id_to_train": {}}
HEADER = {"config": {}, "classes": CLASSES, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3]}
SIZES = [(64, 96), (65, 91), (130, 67)]
RNG = np.random.default_rng(0)


class Small(nn.Module):
    """A model by the contract: three classes at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.encoder.mean, self.encoder.std = HEADER["mean"], HEADER["std"]
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> dict:
        return {"logits": self.head(self.encoder(x))}


def image(height: int, width: int) -> np.ndarray:
    """Blocks of colour."""
    blocks = RNG.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def labels_of(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(picture[None]))[0].numpy()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    small = Small().eval()
    with torch.no_grad():
        small.head.bias -= small(torch.randn(1, 3, 64, 64))["logits"].mean(dim=(0, 2, 3))
    return ImageToLabels(small).eval()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """`any` takes images of any size, `one` of 64x96."""
    folder = tmp_path_factory.mktemp("exported")
    for name, size in (("any", None), ("one", [64, 96])):
        header = {**HEADER, "size": size}
        program = export_program(model, size or (128, 160), size is None)
        write_torch_export(program, folder / f"{name}.pt2", header)
        write_onnx(program, folder / f"{name}.onnx", header)
        write_openvino(folder / f"{name}.onnx", folder / f"{name}.xml", header)
        write_onnx(program, folder / f"{name}_half.onnx", header, half=True)
    Quantiser(folder / "any.onnx", [image(64, 96), image(80, 70)], ["nothing"]).write(folder / "int8.onnx")
    write_openvino(folder / "int8.onnx", folder / "int8.xml", {**HEADER, "size": None})
    return folder


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """What runs a file, by its suffix."""
    if path.suffix == ".pt2":
        program = torch.export.load(path).module()
        return lambda picture: labels_of(program, picture)
    return load_exported(path, "onnx" if path.suffix == ".onnx" else "openvino")


@pytest.mark.parametrize("name", ["any.onnx", "any_half.onnx", "any.xml", "any.pt2", "int8.xml"])
def test_any_size(model, files, name):
    exported, least = load(files / name), {"int8.xml": 0.97, "any_half.onnx": 0.99}
    for size in SIZES:
        picture = image(*size)
        labels, expected = exported(picture), labels_of(model, picture)
        assert labels.dtype == np.uint8 and labels.shape == size
        assert len(np.unique(expected)) == 3
        assert (labels == expected).mean() > least.get(name, 0.999)


def test_half_of_the_filters_bits_are_kept(files):
    kinds = {len(tensor.dims) > 1: tensor.data_type for tensor in onnx.load(files / "any_half.onnx").graph.initializer}
    assert kinds[True] == onnx.TensorProto.FLOAT16


@pytest.mark.parametrize("name", ["one.onnx", "one.xml"])
def test_one_size(model, files, name):
    exported, picture = load(files / name), image(64, 96)
    assert exported.header["size"] == [64, 96]
    assert (exported(picture) == labels_of(model, picture)).mean() > 0.999
    with pytest.raises(DataError, match="65x96.*takes 64x96 only.*without --size"):
        exported(image(65, 96))
    exported.header["classes"] = {"names": ["a"]}
    with pytest.raises(CheckpointError, match="names no class"):
        exported(picture)


def test_int8_is_int8(files):
    nodes = [node.op_type for node in onnx.load(files / "int8.onnx").graph.node]
    # of three convolutions the middle one: its weight and bias, and what goes in
    assert nodes.count("DequantizeLinear") >= 2 and nodes.count("Conv") == 3
    assert (files / "int8.bin").stat().st_size < (files / "any.bin").stat().st_size


def test_levels_of_int8_are_for_what_an_activation_lets_through(model, tmp_path):
    clipped = copy.deepcopy(model)
    clipped.model.encoder[3] = nn.ReLU6()
    with torch.no_grad():
        clipped.model.encoder[2].weight[0] *= 300  # values far beyond the 6 that pass
        clipped.model.head.bias.zero_()
        clipped.model.head.bias -= clipped.model(torch.randn(1, 3, 64, 64))["logits"].mean(dim=(0, 2, 3))
    pictures = [image(64, 96) for _ in range(4)]
    write_onnx(export_program(clipped, (64, 96), False), tmp_path / "float.onnx", {**HEADER, "size": None})
    Quantiser(tmp_path / "float.onnx", pictures[:2], ["nothing"]).write(tmp_path / "int8.onnx")
    exported = load(tmp_path / "int8.onnx")
    same = [(exported(picture) == labels_of(clipped, picture)).mean() for picture in pictures]
    assert np.mean(same) > 0.97


def test_parts_that_stay_in_float32(files, tmp_path):
    names = (
        "encoder.layer2.0.conv1",
        "encoder.model.blocks.3.1.conv_pw",
        "fem_d.0.fuse.0",
        "decoder.p5.conv.0",
        "head",
    )
    parts = [part_of(f"model.{name}.weight") for name in names]
    assert parts == ["encoder.layer2", "encoder.model.blocks.3", "fem_d", "decoder.p5", "head"]
    quantiser, counts = Quantiser(files / "one.onnx", [image(64, 96)], []), []
    assert set(quantiser.groups) == {"encoder.2"}  # the first and the last convolution are in float32 anyway
    for floats in ((), ("encoder.2",)):
        quantiser.write(tmp_path / "int8.onnx", {**HEADER, "size": [64, 96]}, floats)
        kinds = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
        counts.append(kinds.count("QuantizeLinear"))
    assert counts[0] > counts[1] and load(tmp_path / "int8.onnx").header["size"] == [64, 96]


def test_what_stands_in_a_file(files):
    extra = {"fenet": ""}
    torch.export.load(files / "any.pt2", extra_files=extra)
    assert json.loads(extra["fenet"])["classes"] == HEADER["classes"]
    assert b"fusing.py" not in (files / "any.onnx").read_bytes()  # no place of this machine


def test_predictor_sees_the_very_pixels(files):
    exported = load(files / "one.onnx")
    pixels = np.stack([RNG.integers(0, 256, (64, 96, 3)), image(64, 96)]).astype(np.uint8)
    mean, std = (torch.tensor(HEADER[key]) for key in ("mean", "std"))
    normalised = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(0, 3, 1, 2)
    scores = exported.scores(normalised)
    assert scores.shape == (2, 3, 64, 96) and scores.dtype == torch.float32 and (scores.sum(1) == 1).all()
    assert (scores.argmax(1).numpy() == np.stack([exported(picture) for picture in pixels])).all()


# files that can't be used


@pytest.fixture
def copies(files, tmp_path):
    for part in files.glob("one.*"):
        shutil.copy(part, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["one.onnx", "one.xml"])
def test_damaged_files_are_one_line(copies, name):
    content, runtime = (copies / name).read_bytes(), "onnx" if name == "one.onnx" else "openvino"
    for wrong, reason in ((f"none{name}", "no such file"), ("one.pt2", "runs .* files")):
        with pytest.raises(CheckpointError, match=reason):
            load_exported(copies / wrong, runtime)
    for damaged in (b"", content[: len(content) // 2], b"\0" * 100):
        (copies / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a usable"):
            load(copies / name)


def test_weights_of_openvino_belong_to_it(model, copies):
    weights = bytearray((copies / "one.bin").read_bytes())
    weights[weights.index(model.model.encoder[2].weight.detach().numpy().tobytes())] ^= 1
    (copies / "one.bin").write_bytes(weights)
    with pytest.raises(CheckpointError, match="damaged or another model's"):
        load(copies / "one.xml")
    (copies / "one.bin").unlink()
    with pytest.raises(CheckpointError, match="keep them together"):
        load(copies / "one.xml")


def test_a_file_without_our_metadata_is_refused(copies):
    bare = onnx.load(copies / "one.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, copies / "bare.onnx")
    openvino.save_model(openvino_core().read_model(copies / "bare.onnx"), copies / "bare.xml")
    for name in ("bare.onnx", "bare.xml"):
        with pytest.raises(CheckpointError, match="export it with scripts/export.py"):
            load(copies / name)


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname"])
def test_weights_outside_the_folder_are_not_read(copies, place):
    (copies / "secret").write_bytes(b"\0" * 10**5)
    (copies / "in").mkdir()
    changed = onnx.load(copies / "one.onnx")
    tensor = max(changed.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    (copies / "in" / "a.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match="not a usable ONNX file"):
        load(copies / "in" / "a.onnx")


@pytest.mark.parametrize(("name", "package"), [("one.onnx", "onnxruntime"), ("one.xml", "openvino")])
def test_a_missing_package_is_named(files, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EnvironmentFault, match=f"pip install {package}"):
        load(files / name)


class Fixed(Small):
    """Its shape can't be left open."""

    def forward(self, x: torch.Tensor) -> dict:
        return {"logits": self.head(self.encoder(x).view(1, 8, 32, 40))}


def test_what_fixes_its_size_is_refused_before_it_is_traced():
    windows = Small()
    windows.encoder.window_size = (7, 7)
    reflecting = Small()
    reflecting.head.padding_mode = "reflect"
    for model, reason in (
        (windows, "within windows.*--size H,W"),
        (reflecting, "--filter_padding reflect.*--size H,W"),
    ):
        with pytest.raises(OptionError, match=reason):
            check_opens(model)
    check_opens(Small())


def test_a_size_that_cannot_be_left_open_is_one_line():
    with pytest.raises(OptionError, match="fixes its size.*--size H,W"):
        export_program(ImageToLabels(Fixed()).eval(), (128, 160), True)


def use_and_drop(path):
    """Two cores of OpenVINO leave a freed stack for signal handlers behind: segmentation fault at the next signal."""
    models = [load(path) for _ in range(2)]
    while models:
        models.pop(0)
        gc.collect()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    subprocess.run(["true"], check=True)


def test_signals_reach_the_process_after_openvino_models_have_gone(files):
    process = multiprocessing.get_context("spawn").Process(target=use_and_drop, args=(files / "one.xml",))
    process.start()
    process.join(120)
    assert process.exitcode == 0
