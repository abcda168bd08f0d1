"""eval.py's --class_map: scores on data of other classes, against a count by hand; and what is refused before that."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import eval as evaluation
from engine.evaluation.score_files import load_per_image
from tests.conftest import eval_args
from tests.test_bad_input import fails

# the same label files under other names: a car's are an animal's here
OTHER = [{"name": name, "id": i} for i, name in ((3, "vegetation"), (0, "sky"), (1, "street"), (2, "animal"))]
GIVEN = {"tree": "vegetation", "road": "street"}
TARGETS = {0: 1, 1: 2, 2: 4, 3: 0}  # train id of the model -> column of the matrix; 4 is none of the classes
TRUTHS = {0: 1, 1: 2, 3: 0}  # label id -> row; animals are ignored


def class_map(folder, content=GIVEN) -> list[str]:
    path = folder / "map.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return ["--class_map", str(path)]


def scores(out) -> dict:
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture
def other(trained, tmp_path):
    """The data that the model was trained on, with other classes."""
    shutil.copytree(trained.data, tmp_path / "other")
    (tmp_path / "other" / "classes.json").write_text(json.dumps({"classes": OTHER, "ignore": [255]}))
    return tmp_path / "other"


def test_scores_on_data_with_other_classes(trained, other, tmp_path, capfd):
    own, out = tmp_path / "own", tmp_path / "out"
    assert evaluation.main(eval_args(trained.best, trained.data, own, "--dump_images")) == 0
    more = ("--dump_images", "--report", "--boundary", "--bootstrap", "50", *class_map(tmp_path))
    capfd.readouterr()
    assert evaluation.main(eval_args(trained.best, other, out, *more)) == 0
    said = "".join(capfd.readouterr())
    expected = np.zeros((4, 5), int)
    for path in sorted((own / "pred").glob("*.png")):
        predicted, label = (np.array(Image.open(p)) for p in (path, other / "masks" / "val" / path.name))
        counted = np.isin(label, list(TRUTHS))
        pairs = zip(label[counted].tolist(), predicted[counted].tolist(), strict=True)
        for truth, found in pairs:
            expected[TRUTHS[truth], TARGETS[found]] += 1
        mapped = np.array(Image.open(out / "pred" / path.name))  # ids of the data; 255 is ignored there
        assert ((mapped == 255) == (predicted == 2)).all() and (mapped[predicted == 3] == 3).all()
    result = scores(out)
    assert result["confusion_matrix"] == expected.tolist() and expected[:, 4].any()
    union = expected.sum(1) + expected.sum(0)[:4] - expected.diagonal()
    ious = [row["iou"] for row in result["per_class"].values()]
    assert ious[:3] == pytest.approx(expected.diagonal()[:3] / union[:3]) and ious[3] is None
    assert result["mean_iou"] == pytest.approx(np.mean(ious[:3])) and result["loss"] is None
    low, high = result["interval"]
    assert low <= result["mean_iou"] <= high
    assert result["class_map"] == {"sky": "sky", "road": "street", "car": None, "tree": "vegetation"}
    for line in ("class map: road -> street, tree -> vegetation", "is missed: car", "are ignored: animal"):
        assert line in said
    kept, names = load_per_image(out)
    assert kept.confusion.tolist() == expected.tolist() and names == [row["name"] for row in OTHER]
    page = (out / "report.html").read_text()
    assert "predicted as none of the classes" in page


def test_a_map_of_equal_names_changes_nothing(trained, tmp_path):
    own, out = tmp_path / "own", tmp_path / "out"
    assert evaluation.main(eval_args(trained.best, trained.data, own, "--boundary")) == 0
    assert evaluation.main(eval_args(trained.best, trained.data, out, "--boundary", *class_map(tmp_path, {}))) == 0
    plain, mapped = scores(own), scores(out)
    assert [row[:4] for row in mapped["confusion_matrix"]] == plain["confusion_matrix"]
    assert not any(row[4] for row in mapped["confusion_matrix"])
    changed = {key for key in mapped if mapped[key] != plain.get(key)}
    assert changed == {"class_map", "confusion_matrix", "loss"}


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        ({"bus": "sky"}, (), "--class_map: the model has no class 'bus'; it has sky, road, car, tree"),
        ({"car": "cart"}, ("--dataset", "cityscapes"), "--class_map: the data has no class 'cart'; it has road, "),
        ({"car": ""}, ("--dataset", "cityscapes"), "--class_map: the data has no class ''; it has road, "),
        ("[1]", (), 'must be an object {"class of the model"'),
        ("{", (), "not valid JSON"),
        ({}, ("--confidence",), "--class_map --confidence: only with the model's own classes"),
        ({}, ("--submission", "x.zip"), "--class_map --submission: only with the model's own classes"),
        ({}, ("--instance_scores",), "--class_map --instance_scores: only with the model's own classes"),
        (dict.fromkeys(("sky", "road", "car", "tree")), ("--dataset", "cityscapes"), "nothing to score"),
    ],
)
def test_what_is_refused_before_the_data_is_looked_for(trained, tmp_path, capfd, content, more, message):
    argv = eval_args(trained.best, tmp_path / "nowhere", tmp_path / "out", *more, *class_map(tmp_path, content))
    fails(capfd, 2, evaluation.main, argv, message)


def test_a_class_that_the_data_has_not(trained, other, tmp_path, capfd):
    argv = eval_args(trained.best, other, tmp_path / "out", *class_map(tmp_path, {"car": "tree"}))
    fails(capfd, 2, evaluation.main, argv, "the data has no class 'tree'; it has vegetation, sky, street, animal")
    argv = eval_args(trained.best, other, tmp_path / "out", "--class_map", str(tmp_path / "none.json"))
    fails(capfd, 2, evaluation.main, argv, "none.json: cannot be read")
