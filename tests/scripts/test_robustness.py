"""robustness.py: the clean score is eval.py's, cells have intervals, a stopped call resumes, bad input is said."""

import json

import numpy as np
import pytest
from PIL import Image

import eval
from datasets.dataset import EvaluationDataset
from datasets.folder import build_split
from datasets.loader import build_eval_loader
from scripts import robustness
from scripts.corrupted.cells import CorruptedSplit
from tests.conftest import eval_args, make_scenes
from transforms import build_eval_transform
from transforms.corruptions import weather


def arguments(trained, out, *more):
    return [str(trained.best), "--data_root", str(trained.data), "--out", str(out), "--device", "cpu",
            "--num_workers", "0", "--bootstrap", "50", *more]  # fmt: skip


def test_clean_is_eval_s_score_and_a_stopped_call_resumes(trained, tmp_path, monkeypatch, capsys):
    assert eval.main(eval_args(trained.best, trained.data, tmp_path / "eval", "--bootstrap", "50")) == 0
    plain = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    argv = arguments(trained, tmp_path / "out", "--corruptions", "contrast,gaussian_noise", "--strengths", "5,1")
    with monkeypatch.context() as patch:
        patch.setattr(robustness, "summarize", lambda *_: 1 / 0)
        assert robustness.main(argv) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["partial"]
    assert robustness.main(argv) == 0
    result = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert (result["clean"], result["clean_interval"]) == (plain["mean_iou"], plain["interval"])
    assert result["protocol"]["amp"] == plain["protocol"]["amp"] != "auto"
    assert result["seconds_per_image"] == {"clean": None, "corrupted": None}  # nothing was predicted again
    assert list(result["cells"]) == ["contrast", "gaussian_noise"] and list(result["cells"]["contrast"]) == ["1", "5"]
    losses = [row["1"]["mean_iou"] - row["5"]["mean_iou"] for row in result["cells"].values()]
    assert min(losses) >= 0 and max(losses) > 0  # the least contrast may be as dull to a small model as the next
    for row in result["cells"].values():
        for cell in row.values():
            assert cell["interval"][0] <= cell["mean_iou"] <= cell["interval"][1]
            assert cell["relative"] == cell["mean_iou"] / result["clean"]
    cells = [cell["mean_iou"] for row in result["cells"].values() for cell in row.values()]
    assert result["mean"]["mean_iou"] == pytest.approx(np.mean(cells), abs=1e-12)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "gaussian noise" in page and page.count('class="panel"') == 3 * 4
    assert not (tmp_path / "out" / "partial").exists()


def test_a_class_map_is_part_of_what_a_stopped_call_left(trained, tmp_path, monkeypatch):
    maps = {"one": {"car": None}, "other": {"car": "road", "road": None}}
    for name, classes in maps.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(classes))
    more = ["--class_map", str(tmp_path / "other.json")]
    assert eval.main(eval_args(trained.best, trained.data, tmp_path / "eval", *more)) == 0
    argv = arguments(trained, tmp_path / "out", "--corruptions", "contrast", "--strengths", "1", "--class_map")
    with monkeypatch.context() as patch:
        patch.setattr(robustness, "summarize", lambda *_: 1 / 0)
        assert robustness.main([*argv, str(tmp_path / "one.json")]) == 1
    snapshot, *flags = [*argv, str(tmp_path / "other.json")]
    assert robustness.main([*flags, snapshot]) == 0  # in any order
    scored = json.loads((tmp_path / "eval" / "metrics.json").read_text())["mean_iou"]
    assert json.loads((tmp_path / "out" / "robustness.json").read_text())["clean"] == scored
    assert (tmp_path / "out" / "report.html").exists()


def test_an_image_is_the_same_whatever_loads_it(tmp_path):
    split = CorruptedSplit(build_split(make_scenes(tmp_path, 8), "val", 0), "snow", 4)
    dataset = EvaluationDataset(split, build_eval_transform())
    alone, shared = (
        {batch["name"][0]: batch["image"] for batch in build_eval_loader(dataset, order, num_workers=workers)}
        for order, workers in ((range(4), 0), ([3, 1, 0, 2], 2))
    )
    assert all((alone[name] == shared[name]).all() for name in split.names)
    assert not (alone[split.names[0]] == alone[split.names[1]]).all()


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--corruptions", "rain,fog"], 2, "no corruption is called rain; there are gaussian_noise, shot_noise"),
        (["--corruptions", "fog,fog"], 2, "named twice"),
        (["--strengths", "0,3"], 2, "name some of 1 to 5"),
        (["--dump_images"], 2, "--dump_images: has no meaning"),
        (["--corruptions", "frost"], 5, "--corruptions frost: frost needs its six photos"),
    ],
)
def test_what_cannot_work_is_one_line(trained, tmp_path, monkeypatch, capsys, more, code, said):
    monkeypatch.setattr(weather, "frost_folder", lambda: None)
    assert robustness.main(arguments(trained, tmp_path / "out", *more)) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_one_image_has_no_intervals_and_void_labels_have_no_score(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "frost_folder", lambda: None)
    monkeypatch.setattr(robustness, "CORRUPTIONS", ["fog", "frost"])
    data = make_scenes(tmp_path / "data", 2)
    argv = [*arguments(trained, tmp_path / "out", "--strengths", "3"), "--data_root", str(data)]
    assert robustness.main(argv) == 0
    said, result = capsys.readouterr(), json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert "no intervals" in said.out + said.err and "frost is left out" in said.out + said.err
    assert result["cells"]["fog"]["3"]["interval"] is None and result["mean"]["relative_interval"] is None
    assert result["left_out"] and list(result["cells"]) == ["fog"]
    label = data / "masks" / "val" / "000.png"
    Image.fromarray(np.full_like(np.array(Image.open(label)), 255)).save(label)
    assert robustness.main(argv) == 3
    error = capsys.readouterr().err
    assert "is void" in error.splitlines()[-1]
