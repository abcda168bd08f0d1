"""Some of the kinds of models in every format, with open sides; the program itself goes through all."""

import pytest

from scripts.benchmarks.export_matrix import FAMILIES, SHAPES, measure
from utils.optional import import_torchvision

import_torchvision()
for package in ("onnxscript", "onnxruntime", "openvino", "timm", "segmentation_models_pytorch"):
    pytest.importorskip(package)

SOME = ("fenet_tiny", "sfnet_lite_r18", "fenet:mobilenetv3_small_100", "smp_deeplabv3plus")


@pytest.mark.slow
@pytest.mark.parametrize("spec", SOME)
def test_files_give_what_the_model_gives_at_any_size(spec, tmp_path):
    assert spec in FAMILIES
    for name, found in measure(spec, tmp_path)["formats"].items():
        for shape in SHAPES:
            least, most = (0.5, 0.1) if name.endswith("int8") else (0.999, 1e-4)  # fresh weights are sensitive
            assert found[shape]["agreement"] >= least, (name, shape)
            assert found[shape]["probabilities"] <= most and found[shape]["confidence"] <= most, (name, shape)
