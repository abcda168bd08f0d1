import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.inference import build_predictor, scaled_size, window_starts
from tests.golden_vectors import load, vectors
from utils.errors import OptionError

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


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(5, 40),
    width=st.integers(5, 40),
    crop=st.integers(3, 50),
    overlap=st.sampled_from([0.0, 1 / 3, 0.5, 0.9]),
    flip=st.booleans(),
    merge=st.sampled_from(["prob", "logit", "exp_softmax"]),
    window_batch=st.integers(1, 5),
)
def test_pointwise_model_scores_the_same_in_every_mode(height, width, crop, overlap, flip, merge, window_batch):
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    options = {"flip": flip, "merge": merge}
    whole = build_predictor(pointwise, "whole", **options)(images)
    sliding = build_predictor(
        pointwise, "sliding", crop_size=crop, overlap=overlap, window_batch=window_batch, **options
    )(images)
    assert whole.shape == (2, 3, height, width)
    torch.testing.assert_close(sliding, whole)


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


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"mode": "pool"}, "--inference_mode"),
        ({"merge": "max"}, "--merge"),
        ({"scales": ()}, "--scales"),
        ({"scales": (0.0,)}, "--scales"),
        ({"overlap": 1.0}, "--sliding_overlap"),
        ({"crop_size": 0}, "--crop_size"),
    ],
)
def test_bad_options_name_the_flag(options, flag):
    with pytest.raises(OptionError, match=flag):
        build_predictor(pointwise, **options)
