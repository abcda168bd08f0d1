"""scripts/microscope.py: what a switch computes, what is counted where, and the filters' frequency response."""

import copy
import json

import numpy as np
import pytest
import torch

import datasets
import eval as evaluation
import network
from datasets.synthetic.split import SyntheticSplit
from engine.inference import build_predictor
from engine.inference.batch import BatchPredictor
from engine.inference.score_maps import predict_labels
from engine.inference.small_weights import SMALL_WEIGHTS
from network.parts.enhancement import FeatureFilter
from scripts import microscope
from scripts.microscopes.counting import SwitchedPredictor, outcomes, split_places
from scripts.microscopes.responses import describe_filter, frequency_response, mean_of
from scripts.microscopes.variants import MEAN, TRAINED, build_variants, switched
from tests.conftest import save_untrained, untrained
from tests.test_bad_input import fails

IGNORE = 255
OPTIONS = ("--split", "val", "--num_workers", "0", "--device", "cpu", "--bootstrap", "50", "--scales", "0.5,1")


@pytest.fixture(scope="module")
def scenes():
    """Small drawn scenes in the place of the data set `synthetic`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "build_split", lambda *_: SyntheticSplit("val", count=2, height=64, width=128))
        yield


@pytest.fixture(scope="module")
def looked(scenes, tmp_path_factory):
    """What microscope.py leaves of the repository's weights."""
    out = tmp_path_factory.mktemp("microscope")
    assert microscope.main([str(SMALL_WEIGHTS), "--out", str(out), "--images", "2", *OPTIONS]) == 0
    return out


@pytest.mark.parametrize("side", [9, 5])
def test_the_mean_filter_has_the_response_of_a_dirichlet_kernel(side):
    response = frequency_response(mean_of(side))[0]
    f = np.fft.fftfreq(len(response))
    safe = np.where(f == 0, 1, f)
    line = np.where(f == 0, 1, np.sin(np.pi * side * safe) / (side * np.sin(np.pi * safe)))
    np.testing.assert_allclose(response, np.outer(line, line), atol=1e-12)
    found = describe_filter(FeatureFilter(3, side))
    for name, first in (("filter", 1), ("answer", 0)):
        curves = found[name]
        assert curves["mean"] == curves["low"] == curves["high"] == curves["mean_filter"]
        assert curves["mean"][0] == pytest.approx(first, abs=1e-5)
        assert curves["mean"][8] == pytest.approx(np.abs(1 - first - response)[_ring(len(f), 8)].mean(), abs=1e-5)
    assert found["sum"]["mean"] == pytest.approx(1, abs=1e-5) and found["change"]["high"] < 1e-5


def _ring(size: int, radius: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.abs(np.hypot((y + size // 2) % size - size // 2, (x + size // 2) % size - size // 2) - radius) < 0.5


def test_a_wave_comes_out_of_a_filter_as_its_response_says():
    torch.manual_seed(0)
    layer = FeatureFilter(2, 9).double()
    with torch.no_grad():
        layer.weight.normal_(std=0.1)
    response = frequency_response(layer.kernel().detach().numpy()[:, 0])
    y, x = torch.meshgrid(*[torch.arange(64, dtype=torch.float64)] * 2, indexing="ij")
    for v, u in ((0, 0), (3, 0), (5, 12), (20, 31)):
        angle = 2 * torch.pi * (v * y + u * x) / 64
        parts = [layer(wave.expand(1, 2, 64, 64))[0, :, 20, 30] for wave in (angle.cos(), angle.sin())]
        np.testing.assert_allclose(torch.hypot(*parts).detach(), np.abs(response[:, v, u]), atol=1e-9)


def without(model: torch.nn.Module, **options) -> torch.nn.Module:
    """A model that is built with other options, with the weights that it shares with `model`."""
    built = network.build_model("fenet_tiny", 5, channels=16, aux=False, **options)
    built.load_state_dict({key: value for key, value in model.state_dict().items() if key in built.state_dict()})
    return built


def set_filters(model: torch.nn.Module, value: float, centre: float, kinds=("fem_d", "fem_s")) -> torch.nn.Module:
    """The same model, all weights of its filters D `value`, those in the middle `centre`."""
    changed = copy.deepcopy(model)
    for kind in kinds:
        for module in getattr(changed, kind):
            module.filter.weight.data.fill_(value)[..., 4, 4] = centre
    return changed


def test_a_switched_model_is_one_that_is_built_so_and_comes_back_untouched():
    model = untrained("fenet_tiny", 5, channels=16, aux=False)
    image, before = torch.randn(1, 3, 64, 96), {name: value.clone() for name, value in model.state_dict().items()}
    built = {
        TRAINED: without(model),
        "fem_d_off": without(model, fem_d=False),
        "fem_s_off": without(model, fem_s=False),
        "both_off": without(model, fem_d=False, fem_s=False),
        "fem_d_silent": set_filters(model, 0, 1, ["fem_d"]),  # D(x) = x
        "fem_s_silent": set_filters(model, 0, 1, ["fem_s"]),
        "both_silent": set_filters(model, 0, 1),
        MEAN: set_filters(model, 1 / 81, 1 / 81),
    }
    variants = build_variants(model, torch.device("cpu"))
    assert [variant.name for variant in variants] == list(built)
    seen = []
    with torch.no_grad():
        for variant in variants:
            with switched(model, variant.parts):
                logits = model(image)["logits"]
            expected = built[variant.name].eval()(image)["logits"]
            assert torch.equal(logits, expected)
            assert not any(torch.allclose(logits, other, rtol=1e-3) for other in seen)
            seen.append(logits)
        with pytest.raises(KeyError), switched(model, variants[1].parts):
            raise KeyError
        assert torch.equal(model(image)["logits"], seen[0])
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(("scales", "encoded"), [((1.0,), 2), ((1.0, 2.0), 32)])
def test_an_image_is_encoded_once_for_all_variants(scales, encoded):
    model = untrained("fenet_tiny", 5, channels=16, aux=False)
    calls = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    variants = build_variants(model, torch.device("cpu"))
    predict = BatchPredictor(build_predictor(model, scales=scales), torch.device("cpu"))
    switched_predict, encoder = SwitchedPredictor(predict, model, variants), model.encoder
    for _ in range(2):
        batch = {"image": torch.randn(1, 3, 64, 64), "name": ["a"]}
        labels = switched_predict(batch)
        assert len(labels) == 8 and model.encoder is encoder
    assert len(calls) == encoded
    for variant, expected in zip(variants, labels, strict=True):
        with switched(model, variant.parts):
            assert (predict_labels(predict(batch)).numpy() == expected).all()


def test_models_of_one_kind_of_module_have_its_switches_only():
    model = network.build_model("fenet_tiny", 3, channels=8, fem_d=False)
    names = [variant.name for variant in build_variants(model, torch.device("cpu"))]
    assert names == [TRAINED, "fem_s_off", "fem_s_silent", MEAN]


def test_boundary_and_interior_part_the_labelled_pixels():
    rng = np.random.default_rng(0)
    label = np.kron(rng.integers(0, 3, (4, 5)), np.ones((7, 7), int)).astype(np.uint8)
    label[rng.random(label.shape) < 0.1] = IGNORE
    near, inside = split_places(label, 2)
    assert (near ^ inside == (label != IGNORE)).all() and near.any() and inside.any()
    for y, x in np.argwhere(label != IGNORE):
        window = label[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        assert near[y, x] == bool(set(window.ravel().tolist()) - {IGNORE, int(label[y, x])})


def test_what_becomes_of_labels_that_change():
    label, before, after = (
        np.array([row], np.uint8) for row in ([0, 0, 0, 0, IGNORE], [0, 0, 1, 1, 0], [0, 1, 0, 2, 1])
    )
    assert [mask[0].tolist().index(True) for mask in outcomes(label, before, after)] == [1, 2, 3]
    assert sum(mask.sum() for mask in outcomes(label, before, after)) == 3


def test_as_trained_scores_are_those_of_eval(looked, tmp_path):
    arguments = ["--snapshot", str(SMALL_WEIGHTS), "--save_dir", str(tmp_path), *OPTIONS]
    assert evaluation.main(arguments) == 0
    expected, found = (json.loads(path.read_text()) for path in (tmp_path / "metrics.json", looked / "microscope.json"))
    trained = found["variants"][TRAINED]["places"]
    assert found["mean_iou"] == trained["everywhere"]["mean_iou"] == expected["mean_iou"] > 0.1
    assert trained["everywhere"]["interval"] == expected["interval"] and found["protocol"] == expected["protocol"]
    for name, row in expected["per_class"].items():
        assert trained["everywhere"]["per_class"][name] == {"iou": row["iou"], "interval": row["interval"]}
    pixels = found["variants"][TRAINED]["changes"]
    labelled = sum(row["pixels"] for row in expected["per_class"].values())
    assert pixels["boundary"]["pixels"] + pixels["interior"]["pixels"] == pixels["everywhere"]["pixels"] == labelled


def test_differences_and_the_page_hold_together(looked):
    found = json.loads((looked / "microscope.json").read_text())
    trained = found["variants"][TRAINED]["places"]
    for name, variant in found["variants"].items():
        for place, row in variant["places"].items():
            if name != TRAINED:
                assert row["difference"] == row["mean_iou"] - trained[place]["mean_iou"]
                assert row["difference_interval"][0] <= row["difference_interval"][1]
        changes = variant["changes"]["everywhere"]
        assert changes["changed"] == pytest.approx(changes["lost"] + changes["gained"] + changes["other"])
        assert (changes["changed"] == 0) == (name == TRAINED)
    assert list(found["filters"]) == [
        *(f"fem_d.{i}.filter" for i in range(3)),
        *(f"fem_s.{i}.filter" for i in (2, 1, 0)),
    ]
    page = (looked / "report.html").read_text()
    assert page.count('class="panel"') == 2 * 11 and page.count('class="area"') == 12 and "http://" not in page
    assert all(variant["title"] in page for variant in found["variants"].values())


def test_bad_input(scenes, tmp_path, capfd):
    classes = SyntheticSplit("val").classes
    save_untrained(tmp_path / "sfnet.pth", "sfnet_r18", classes, "synthetic", channels=8)
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--num_workers", "0", "--device", "cpu"]
    fails(capfd, 4, microscope.main, [tmp_path / "sfnet.pth", *arguments], "sfnet_r18 has no FEM-D and no FEM-S")
    for words, said in (
        (["m.onnx", *arguments], "m.onnx: an exported graph"),
        ([SMALL_WEIGHTS, *arguments[2:]], "--out: name"),
        ([SMALL_WEIGHTS, *arguments, "--band", "0"], "--band 0"),
        ([SMALL_WEIGHTS, *arguments, "--images", "-1"], "--images -1"),
        ([SMALL_WEIGHTS, *arguments, "--report"], "--report"),
        (arguments, "SNAPSHOT"),
    ):
        fails(capfd, 2, microscope.main, words, said)
    assert not out.exists()
