"""What is written and read back; scripts/export.py itself is tested in tests/scripts."""

import copy
import gc
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from engine.export.formats import quantise, write_onnx, write_openvino, write_torch_export
from engine.export.program import export_program
from engine.inference.exported import load_exported, openvino_core
from network.fusing import ImageToLabels
from tests.processes import launch
from utils.errors import CheckpointError, DataError, EnvironmentFault, OptionError

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

HEADER = {"config": {}, "classes": {"names": ["a", "b", "c"]}, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3]}
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
    quantise(folder / "any.onnx", folder / "int8.onnx", [image(64, 96), image(80, 70)], ["nothing"])
    write_openvino(folder / "int8.onnx", folder / "int8.xml", {**HEADER, "size": None})
    return folder


@pytest.mark.parametrize("name", ["any.onnx", "any.xml", "int8.xml"])
def test_any_size(model, files, name):
    exported = load_exported(files / name, "openvino" if name.endswith("xml") else "onnx")
    for size in SIZES:
        picture = image(*size)
        labels, expected = exported(picture), labels_of(model, picture)
        assert labels.dtype == np.uint8 and labels.shape == size and len(np.unique(expected)) == 3
        assert (labels == expected).mean() > (0.97 if name == "int8.xml" else 0.999)


def test_int8_is_int8(files):
    import onnx

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
    quantise(tmp_path / "float.onnx", tmp_path / "int8.onnx", pictures[:2], ["nothing"])
    exported = load_exported(tmp_path / "int8.onnx", "onnx")
    same = [(exported(picture) == labels_of(clipped, picture)).mean() for picture in pictures]
    assert np.mean(same) > 0.97


def test_torch_export_loads_back(model, files):
    extra = {"fenet": ""}
    program = torch.export.load(files / "any.pt2", extra_files=extra)
    assert json.loads(extra["fenet"])["classes"] == HEADER["classes"]
    for size in SIZES:
        picture = image(*size)
        assert (labels_of(program.module(), picture) == labels_of(model, picture)).mean() > 0.999


@pytest.mark.parametrize("name,runtime", [("one.onnx", "onnx"), ("one.xml", "openvino")])
def test_one_size(model, files, name, runtime):
    exported = load_exported(files / name, runtime)
    assert exported.header["size"] == [64, 96]
    picture = image(64, 96)
    assert (exported(picture) == labels_of(model, picture)).mean() > 0.999
    with pytest.raises(DataError, match="65x96.*takes 64x96 only.*--dynamic"):
        exported(image(65, 96))


def test_predictor_sees_the_very_pixels(files):
    exported = load_exported(files / "one.onnx", "onnx")
    pixels = np.stack([RNG.integers(0, 256, (64, 96, 3)), image(64, 96)]).astype(np.uint8)
    mean, std = (torch.tensor(HEADER[key]) for key in ("mean", "std"))
    normalised = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(0, 3, 1, 2)
    scores = exported.scores(normalised)
    assert scores.shape == (2, 3, 64, 96) and scores.dtype == torch.float32 and (scores.sum(1) == 1).all()
    assert (scores.argmax(1).numpy() == np.stack([exported(picture) for picture in pixels])).all()


def test_no_place_of_this_machine_is_in_the_file(files):
    assert b"folding.py" not in (files / "any.onnx").read_bytes()


@pytest.mark.parametrize("runtime,name", [("onnx", "one.onnx"), ("openvino", "one.xml")])
def test_damaged_files_are_one_line(files, tmp_path, runtime, name):
    for part in files.glob("one.*"):
        shutil.copy(part, tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_exported(tmp_path / f"none{name}", runtime)
    with pytest.raises(CheckpointError, match="runs .* files"):
        load_exported(tmp_path / "one.pt2", runtime)
    content = (tmp_path / name).read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\0" * 100):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a usable"):
            load_exported(tmp_path / name, runtime)


def test_weights_of_openvino_belong_to_it(model, files, tmp_path):
    for part in ("one.xml", "one.bin"):
        shutil.copy(files / part, tmp_path)
    weights = bytearray((tmp_path / "one.bin").read_bytes())
    weights[weights.index(model.model.encoder[2].weight.detach().numpy().tobytes())] ^= 1
    (tmp_path / "one.bin").write_bytes(weights)
    with pytest.raises(CheckpointError, match="damaged or another model's"):
        load_exported(tmp_path / "one.xml", "openvino")
    (tmp_path / "one.bin").unlink()
    with pytest.raises(CheckpointError, match="keep them together"):
        load_exported(tmp_path / "one.xml", "openvino")


def test_a_file_without_our_description_is_refused(files, tmp_path):
    import onnx
    import openvino

    model = onnx.load(files / "one.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    openvino.save_model(openvino_core().read_model(tmp_path / "bare.onnx"), tmp_path / "bare.xml")
    for name, runtime in (("bare.onnx", "onnx"), ("bare.xml", "openvino")):
        with pytest.raises(CheckpointError, match="export it with scripts/export.py"):
            load_exported(tmp_path / name, runtime)


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname"])
def test_weights_outside_the_folder_are_not_read(files, tmp_path, place):
    import onnx

    (tmp_path / "secret").write_bytes(b"\0" * 10**5)
    (tmp_path / "in").mkdir()
    model = onnx.load(files / "one.onnx")
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "in" / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="not a usable ONNX file"):
        load_exported(tmp_path / "in" / "a.onnx", "onnx")


def test_labels_without_a_class_are_refused(files):
    exported = load_exported(files / "one.onnx", "onnx")
    exported.header["classes"] = {"names": ["a"]}
    with pytest.raises(CheckpointError, match="names no class"):
        exported(image(64, 96))


@pytest.mark.parametrize("name,runtime", [("one.onnx", "onnx"), ("one.xml", "openvino")])
def test_a_missing_package_is_named(files, monkeypatch, name, runtime):
    package = "onnxruntime" if runtime == "onnx" else "openvino"
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EnvironmentFault, match=f"pip install {package}"):
        load_exported(files / name, runtime)


class Fixed(Small):
    """Its shape can't be left open."""

    def forward(self, x: torch.Tensor) -> dict:
        return {"logits": self.head(self.encoder(x).view(1, 8, 32, 40))}


def test_a_size_that_cannot_be_left_open_is_one_line():
    with pytest.raises(OptionError, match="--dynamic.*--size H,W"):
        export_program(ImageToLabels(Fixed()).eval(), (128, 160), True)


def start_a_program_after_openvino(path: str) -> None:
    models = [load_exported(path, "openvino") for _ in range(2)]
    while models:
        models.pop(0)
        gc.collect()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    subprocess.run(["true"], check=True)


def test_signals_reach_the_process_after_openvino_models_have_gone(files):
    # two cores of OpenVINO leave a freed stack for signal handlers behind: segmentation fault
    done = launch([start_a_program_after_openvino, str(files / "one.xml")], timeout=120)
    assert done.returncode == 0, done.stderr
