"""The figure of speed against accuracy is that of the benchmarks it is given, and of no others."""

import json

import pytest

from scripts.benchmarks.speed_accuracy import build_chart, fastest, read_models, run
from utils.errors import DataError

ARMS = {
    "plain": {"median": 0.01, "mean_iou": 0.7},  # never shown, however fast
    "torch": {"median": 0.5, "mean_iou": 0.7},
    "onnx": {"median": 0.25, "mean_iou": 0.71},
    "openvino_bf16": {"median": 0.125, "mean_iou": 0.69},
    "openvino_bf16_int8": {"median": 0.1, "mean_iou": 0.68},
    "openvino_int8": {"median": 0.2, "mean_iou": 0.65},
}


def write(path, arms=ARMS, arch="fenet", **changes):
    bench = {"what": "cpu-demo", "arms": arms, "data": "camvid", "hardware": {"name": "EPYC", "threads": 2}}
    bench["sizes"] = {"size": [360, 480], "arch": arch, "images_compared": 9}
    path.write_text(json.dumps(bench | changes))
    return path


def test_the_fastest_arm_of_each_precision():
    assert fastest(ARMS) == [("float32", 4, 0.71), ("bf16", 8, 0.69), ("int8", 10, 0.68)]


def test_what_is_drawn(tmp_path, capsys):
    slower = {name: row | {"median": 2 * row["median"], "mean_iou": 0.6} for name, row in ARMS.items()}
    files = [write(tmp_path / "a.json"), write(tmp_path / "b.json", slower, "smp_fpn"), write(tmp_path / "c.json")]
    place, models = read_models(files)
    assert place == "9 images of camvid val at 480x360, 2 threads of an EPYC"
    assert list(models) == ["fenet", "smp_fpn", "c"]  # two of one architecture: the file's name tells them apart
    chart = build_chart(models)
    drawn = {name: [(x, y) for x, y in zip(chart.x, values, strict=True) if y] for name, values in chart.series.items()}
    assert drawn["fenet"] == [(4, 0.71), (8, 0.69), (10, 0.68)] == drawn["c"]
    assert drawn["smp_fpn"] == [(2, 0.6), (4, 0.6), (5, 0.6)]
    assert chart.down(0.59) == chart.bottom and chart.down(0.72) == chart.top
    run([*map(str, files), "--out", str(tmp_path / "figure.svg")])
    assert (tmp_path / "figure.svg").read_text().count("<circle") == 9
    assert "smp_fpn int8: 5.0 images/s, mIoU 60.00%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"what": "train-step"}, "no scores of"),
        ({"arms": ARMS | {"onnx": {"median": 1, "mean_iou": None}}}, "no scores of"),
        ({"hardware": {"name": "EPYC", "threads": 1}}, "measured on .*1 threads.*2 threads"),
    ],
)
def test_benchmarks_that_do_not_compare(tmp_path, changes, said):
    with pytest.raises(DataError, match=f"b.json: {said}"):
        read_models([write(tmp_path / "a.json"), write(tmp_path / "b.json", **changes)])
