from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.inference import score_maps
from engine.inference.predictor import build_predictor, scaled_size, window_starts
from engine.inference.score_maps import predict_labels
from reference.inference import predict_plain
from tests.golden_vectors import load, vectors
from utils.errors import DataError, OptionError

ROWS = load("inference")


def pointwise(x):
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0], [-1.0, 1.5, 0.2]], dtype=x.dtype)
    return {"logits": torch.einsum("ck,nkhw->nchw", weight, x)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"seed{row['seed']}")
def test_golden(row):
    weight = torch.tensor(vectors.fill("probe.weight", (19, 3, 3, 3), row["seed"]))
    predictor = build_predictor(
        lambda x: {"logits": 2 * F.conv2d(x, weight, padding=1)},
        mode="sliding",
        crop_size=row["crop_size"],
        base_size=row["base_size"],
        overlap=1 - row["stride_rate"],
        scales=row["scales"],
        flip=row["flip"],
        merge=row["merge"],
    )
    image = torch.tensor(vectors.image(1, *row["shape"][1:], row["seed"]))
    labels = predictor(image).argmax(1)[0]
    expected = torch.tensor(row["argmax_every_2"])
    assert (labels[::2, ::2] != expected).float().mean() < 1e-3
    difference = torch.bincount(labels.flatten(), minlength=19) - torch.tensor(row["hist"])
    assert difference.abs().sum() <= 2e-3 * labels.numel()


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    crop=st.integers(1, 50) | st.none(),
    overlap=st.sampled_from([0.0, 1 / 3, 0.5, 0.9]),
    flip=st.booleans(),
    merge=st.sampled_from(["prob", "logit", "exp_softmax"]),
    window_batch=st.integers(1, 5),
    part=st.sampled_from([1, 50, 1000, score_maps.PART]),
)
def test_pointwise_model_scores_the_same_in_every_mode(
    batch, height, width, crop, overlap, flip, merge, window_batch, part
):
    if crop is not None and crop < 5 and overlap == 0.9:
        crop = 5  # windows a pixel apart take long
    images = torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(height))
    logits = pointwise(images)["logits"]
    share = logits.softmax(1)
    # the release adds the mirrored run inside exp(), so there --flip changes the scores, though never their order
    expected = {"logit": logits, "prob": share, "exp_softmax": ((1 + flip) * share).exp()}[merge]
    sliding = {"mode": "sliding", "crop_size": crop, "overlap": overlap, "window_batch": window_batch}
    with mock.patch.object(score_maps, "PART", part):  # parts of every size
        for options in ({"mode": "whole"}, sliding):
            scores = build_predictor(pointwise, flip=flip, merge=merge, **options)(images)
            torch.testing.assert_close(scores, expected)
            assert torch.equal(predict_labels(scores), scores.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("merge", ["prob", "logit", "exp_softmax"])
@pytest.mark.parametrize("mode", ["whole", "sliding"])
def test_parts_of_a_map_change_nothing(mode, merge, monkeypatch):
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    images = torch.randn(2, 3, 31, 45, dtype=torch.float64)
    predictor = build_predictor(
        lambda x: {"logits": F.conv2d(x, weight, stride=2, padding=1)},
        mode=mode, merge=merge, crop_size=16, scales=(0.5, 1.0, 1.5), flip=True,
    )  # fmt: skip
    expected = predictor(images)
    monkeypatch.setattr(score_maps, "PART", 300)
    torch.testing.assert_close(predictor(images), expected)


def test_model_s_tensors_are_left_alone():
    images, buffer = torch.randn(1, 3, 6, 8), torch.randn(1, 3, 6, 8)
    for model in (lambda x: {"logits": x}, lambda x: {"logits": buffer}):
        kept = images.clone(), buffer.clone()
        build_predictor(model, merge="logit", flip=True, scales=(1.0, 1.0))(images)
        assert torch.equal(images, kept[0]) and torch.equal(buffer, kept[1])


def test_large_images_are_refused():
    images = torch.zeros(2, 3, 8, 10)  # the limit is for each image
    options = {"max_pixels": 80}
    assert build_predictor(pointwise, **options)(images).shape == (2, 3, 8, 10)
    with pytest.raises(DataError, match=r"10x9 pixels, 10x9 at its largest scale.*--max_pixels 80"):
        build_predictor(pointwise, scales=(0.5,), **options)(torch.zeros(1, 3, 9, 10))
    with pytest.raises(DataError, match="20x16 at its largest scale"):
        build_predictor(pointwise, scales=(0.5, 2.0), **options)(images)
    with pytest.raises(DataError, match="--max_pixels"):
        build_predictor(pointwise, base_size=11, **options)(images)
    with pytest.raises(OptionError, match="--crop_size 9.*--max_pixels 80"):
        build_predictor(pointwise, "sliding", crop_size=9, **options)


@pytest.mark.parametrize("window_batch", [1, 4, 5])
def test_windows_come_in_batches(window_batch):
    batches = []

    def model(x):
        batches.append(len(x))
        return {"logits": x}

    build_predictor(model, "sliding", crop_size=8, overlap=0.0, window_batch=window_batch)(torch.zeros(1, 3, 16, 20))
    assert sum(batches) == 6 and max(batches) == window_batch


def test_merges_are_what_they_say():
    images = torch.randn(1, 3, 8, 9, dtype=torch.float64)
    logits = pointwise(images)["logits"]
    torch.testing.assert_close(build_predictor(pointwise, merge="logit")(images), logits)
    torch.testing.assert_close(build_predictor(pointwise)(images), logits.softmax(1))
    torch.testing.assert_close(build_predictor(pointwise, merge="exp_softmax")(images), logits.softmax(1).exp())


def test_coarse_logits_come_back_at_image_size():
    def strided(x):
        return {"logits": F.avg_pool2d(pointwise(x)["logits"], 4, ceil_mode=True)}

    assert build_predictor(strided, base_size=20)(torch.randn(1, 3, 31, 17)).shape == (1, 3, 31, 17)


def test_sizes_and_windows():
    assert scaled_size((1024, 2048), None, 0.5) == (512, 1024)
    assert scaled_size((91, 170), 256, 1.25) == (171, 320)
    assert scaled_size((170, 91), 256, 1.25) == (320, 171)
    assert window_starts(192, 96, 1 / 3) == [0, 64, 128]
    assert window_starts(50, 96, 1 / 3) == [0]


def test_windows_of_a_cityscapes_submission():
    count = 0
    for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0):
        height, width = (len(window_starts(n, 1024, 1 / 3)) for n in scaled_size((1024, 2048), None, scale))
        count += height * width
    assert count == 57  # docs/submission.md


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"mode": "pool"}, "--inference_mode"),
        ({"merge": "max"}, "--merge"),
        ({"scales": ()}, "--scales"),
        ({"scales": (0.0,)}, "--scales"),
        ({"overlap": 1.0}, "--sliding_overlap"),
        ({"crop_size": 0}, "--crop_size"),
        ({"max_pixels": 0}, "--max_pixels"),
    ],
)
def test_bad_options_name_the_flag(options, flag):
    with pytest.raises(OptionError, match=flag):
        build_predictor(pointwise, **options)


@pytest.mark.parametrize("flip", [False, True])
def test_the_plain_formulation_scores_the_same(flip):
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)

    def model(x):
        return {"logits": F.conv2d(x, weight, stride=2, padding=1)}

    image = torch.randn(1, 3, 33, 47, dtype=torch.float64)
    expected = predict_plain(model, image, 16, (0.5, 1.0, 1.5), flip)
    found = build_predictor(model, "sliding", 16, scales=(0.5, 1.0, 1.5), flip=flip)(image)
    torch.testing.assert_close(found, expected)
