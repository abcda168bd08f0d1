"""The report's content: figures, pictures, escaping, and that equal evaluations give equal pages."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from engine.evaluation.measures import SegmentCounts, TrimapCounts
from engine.evaluation.per_image import ImageResult
from engine.evaluation.score_files import split_metrics
from engine.evaluation.scoring import Evaluation
from engine.report import Report, update_curves, write_report
from engine.report.charts import ticks
from engine.report.curves import curves_section
from engine.report.rendering import render
from engine.report.tables import boundary_scores, confusion_table
from tests.utils.test_trimap import blocky
from utils.metrics.confusion import confusion_matrix

HOSTILE = "<script>alert(1)</script>\"'&<!-- end of curves -->"
NAMES = ["sky", HOSTILE, "car", "never seen"]
PALETTE = [(70, 130, 180), (128, 64, 128), (0, 0, 142), (1, 2, 3)]
VOID = {"meta", "img"}
IGNORE = 255


def maps(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, truth and prediction of one sample; the higher the index, the better; sample 4 is void."""
    rng = np.random.default_rng(index)
    truth = blocky(rng, 60, 90, 3, 20, 0.1)
    prediction = np.where(truth == IGNORE, 0, truth)
    wrong = rng.random(truth.shape) < 0.5 / (index + 1)
    prediction[wrong] = rng.integers(0, 3, int(wrong.sum()))
    if index == 4:
        truth[:] = IGNORE
    return rng.integers(0, 256, (60, 90, 3)).astype(np.uint8), truth, prediction


def evaluated(indices=range(5), measures=("trimap", "segments")) -> Evaluation:
    images = []
    for index in indices:
        _, truth, prediction = maps(index)
        measured = TrimapCounts(4)(prediction, truth) | SegmentCounts(4)(prediction, truth)
        measured = {name: measured[name] for name in measures}
        matrix = confusion_matrix(prediction, truth, 4, IGNORE)
        images.append(ImageResult.from_matrix(index, f"frame{index}{HOSTILE}", matrix, 1.0, measured))
    return Evaluation(images, 4)


def write(path, indices=range(5), measures=("trimap", "segments"), metrics=None) -> str:
    evaluation = evaluated(indices, measures)
    result = split_metrics(evaluation, NAMES, 50) | {"protocol": {"scales": (1.0, 2.0), "base_size": None}}
    facts = {
        "Weights and data": {"snapshot": HOSTILE, "sha256": "ab" * 32},
        "Options": {"scales": (1.0, 2.0), "flip": False},
    }
    write_report(path, Report(f"scores of {HOSTILE}", evaluation, result, PALETTE, maps, facts, 2, metrics))
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Checks that elements are closed in order; collects elements with attributes, and the text of table cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def result() -> dict:
    return split_metrics(evaluated(), NAMES, 50)


def test_scores_of_the_classes(page, result):
    result, total = result["per_class"], evaluated().confusion.sum().item()
    rows = {row[0]: row[1:] for row in Reader(page).rows[:5]}
    for name in NAMES[:3]:
        values = [f"{100 * result[name][key]:.2f}" for key in ("iou", "precision", "recall")]
        share = f"{100 * result[name]['pixels'] / total:.2f}"
        assert re.fullmatch(r"[\d.]+ to [\d.]+", rows[name].pop(1))
        assert rows[name] == [*values, f"{result[name]['pixels']:,}".replace(",", "\u2009"), share]
    assert rows["never seen"] == ["n/a", "n/a", "n/a", "n/a", "0", "0.00"]


def test_every_section_is_there_and_the_page_needs_nothing_else(page):
    elements = Reader(page)
    ids = [attributes["id"] for attributes in elements.of("section") if "id" in attributes]
    assert ids == ["scores", "classes", "confusions", "boundaries", "sizes", "images", "options"]
    assert [link["href"] for link in elements.of("a")] == [f"#{name}" for name in ids]
    assert all(image["src"].startswith("data:image/") for image in elements.of("img"))
    assert not elements.of("link") and not re.search(r"https?://", page)
    assert len(elements.of("script")) == 1 and len(page) < 500_000
    assert not [attributes for _, attributes in elements.elements if "style" in attributes or "onclick" in attributes]


def test_void_image_is_no_best_or_worst_one_and_none_is_shown_twice(page, tmp_path):
    shown = re.findall(r"<b>frame(\d)", page)
    assert shown == ["0", "1", "3", "2"]  # the two worst, the worst first, then the two best
    assert re.findall(r"<b>frame(\d)", write(tmp_path / "one.html", [0])) == ["0"]
    assert len(Reader(page).of("img")) == 4 * len(shown)


def test_interval_is_shown_where_there_is_one(page, result, tmp_path):
    low, high = result["interval"]
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f} (boot" in page
    assert "(bootstrap" not in write(tmp_path / "one.html", [0])


def test_names_stay_text(page):
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert all(image["alt"].endswith(HOSTILE) for image in Reader(page).of("img"))


def test_equal_evaluations_give_equal_pages(page, tmp_path):
    assert write(tmp_path / "report.html") == page


def test_measures_that_are_missing_are_left_out(tmp_path):
    ids = re.findall(r'<section id="(\w+)"', write(tmp_path / "report.html", measures=()))
    assert "boundaries" not in ids and "sizes" not in ids
    page = write(tmp_path / "training.html", measures=["trimap"])
    sizes = page.split('<section id="sizes">')[1].split("</section>")[0]
    assert "eval.py --report" in sizes and "<table" not in sizes


def test_nothing_labelled_has_no_scores(tmp_path):
    page = Reader(write(tmp_path / "report.html", [4]))
    assert not page.of("img") and ["never seen", "n/a", "n/a", "n/a", "n/a", "0", "n/a"] in page.rows
    assert ["all", "n/a", "n/a", "n/a"] in page.rows


def test_boundary_and_size_tables_agree_with_the_scores(page, result):
    rows = Reader(page).rows
    assert ["all", "100.00", *(f"{100 * result[key]:.2f}" for key in ("mean_iou", "pixel_accuracy"))] in rows
    sizes = [row for row in rows if len(row) == 5 and "²" in row[0]]
    pixels = sum(int(row[2].replace("\u2009", "")) for row in sizes)
    assert len(sizes) == 6 and pixels == evaluated().confusion.sum()
    assert sizes[-1][1:] == ["0", "0", "n/a", "n/a"]  # no segment is that large


def test_tolerances_are_labelled_in_percent():
    def row(name: str, value: float) -> dict:
        return {name: value, "per_class": {"car": value}}

    f_scores = {"0.0005": row("mean_f", 0.25), "0.001875": row("mean_f", 0.5), "1e-05": row("mean_f", 0.125)}
    table = boundary_scores({"f_score": f_scores, "iou": row("mean_iou", 0.75)})
    rows = Reader(render("boundary_scores.html", table=table)).rows
    assert rows[0] == ["class", "F at 0.05 %", "F at 0.1875 %", "F at 0.001 %", "Boundary IoU %"]
    assert rows[1:] == [[name, "25.00", "50.00", "12.50", "75.00"] for name in ("mean", "car")]


def test_curves_are_brought_up_to_date(tmp_path):
    metrics, report = tmp_path / "metrics.jsonl", tmp_path / "report.html"
    before = write(report, metrics=metrics)
    assert "No epoch is finished yet" in before
    metrics.write_text(
        '{"epoch": 0, "train_loss": 2.0, "mean_iou": 0.1, "pixel_accuracy": 0.2, "val_loss": null}\n'
        '{"epoch": 1, "train_loss": 1.0}\n{"epoch": 2, "train_loss": 1.0, "mean_iou": 0.05, "pixel_acc'
    )
    update_curves(report, metrics)
    after = report.read_text()
    assert "best: epoch 0" in after and "validation, cross-entropy" in after
    Reader(after)
    metrics.write_text("")
    update_curves(report, metrics)
    assert report.read_text() == before


FOREIGN = [
    b'{"epoch": 1e999, "train_loss": 1.0}',
    b'{"epoch": true, "train_loss": 1.0}',
    b'{"epoch": -1, "train_loss": 1.0}',
    b'{"epoch": %d, "train_loss": 1.0}' % 10**400,
    b'{"epoch": 1' + b"0" * 5000 + b', "train_loss": 1.0}',
    b'{"epoch": 7, "train_loss": 1e999, "val_loss": NaN, "mean_iou": true, "pixel_accuracy": 100}',
    b'{"epoch": 7, "train_loss": %d}' % -(10**400),
    b'{"epoch": 7, "accuracy": 0.5}',
    b"[" * 10**5,
    b'[{"epoch": 7, "train_loss": 1.0}]',
    b'{"epoch": "7", "train_loss": 1.0}',
    b"epoch,train_loss",
    b"\xff\xfe\x00\x01",
    b"",
]


def test_only_epochs_of_a_run_become_curves(tmp_path):
    good = [b'{"epoch": %d, "train_loss": %d, "mean_iou": 0.%d}' % (i, 9 - i, i + 1) for i in range(3)]
    (clean := tmp_path / "clean.jsonl").write_bytes(b"\n".join(good))
    (mixed := tmp_path / "mixed.jsonl").write_bytes(
        b"\r\n".join([*FOREIGN, good[2], good[0], *FOREIGN, good[1], good[2]])
    )
    assert "best: epoch 2" in curves_section(clean)
    assert curves_section(mixed) == curves_section(clean)
    (foreign := tmp_path / "foreign.jsonl").write_bytes(b"\n".join(FOREIGN))
    for path in (foreign, tmp_path, tmp_path / "none.jsonl"):
        assert "No epoch is finished yet" in curves_section(path)


@given(losses=st.lists(st.floats(), min_size=1, max_size=5))
def test_any_loss_can_be_drawn(losses, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "losses.jsonl"
    path.write_text("\n".join(json.dumps({"epoch": i, "train_loss": loss}) for i, loss in enumerate(losses)))
    Reader(page := curves_section(path))
    assert "nan" not in page and "inf" not in page


def test_curves_of_another_report_are_left_out(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"epoch": 0, "train_loss": 2.0}\n')
    update_curves(tmp_path / "none.html", metrics)
    before = write(tmp_path / "report.html")
    update_curves(tmp_path / "report.html", metrics)
    assert (tmp_path / "report.html").read_text() == before and not (tmp_path / "none.html").exists()


@given(text=st.text(st.characters(codec=None)))
def test_any_text_is_escaped(text):
    def drawn(name: str) -> str:
        image = {"name": name, "scores": {"mean_iou": 0.5, "pixel_accuracy": 0.5}, "panels": {name: name}}
        return render("images.html", legend=[(name, (0, 0, 0))], groups={name: [image]})

    Reader(page := drawn(text))
    assert page.count("<") == drawn("x").count("<") and page.count('"') == drawn("x").count('"')
    page.encode()


def test_what_cannot_be_shown_is_replaced():
    shown = render("facts.html", facts={"a\udcffb\x00c\u202ed e\u2009f": {}})
    assert "<h3>a?b\ufffdc\ufffdd e\u2009f</h3>" in shown


def test_what_a_template_lacks_is_no_blank():
    with pytest.raises(UndefinedError):
        render("scores.html", result={})


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
def test_ticks_lie_within_the_axis(low, span):
    found = ticks(low, low + span)
    slack = 1e-6 * span
    assert 1 <= len(found) <= 7 and low - slack <= found[0] and found[-1] <= low + span + slack
    assert np.allclose(np.diff(found, 2), 0, atol=slack)


@pytest.mark.parametrize("count", [2, 19, 60])
def test_matrix_of_many_classes_has_no_figures(count):
    matrix, names = np.eye(count, dtype=np.int64), [f"c{i}" for i in range(count)]
    table = confusion_table(matrix, names)
    page = render("confusions.html", names=names, matrix=matrix.tolist(), table=table)
    assert len(Reader(page).of("rect")) == count + 1
    assert len(Reader(page).of("text")) == (3 * count if count <= 40 else 0) + 1
    assert "No labelled pixel is predicted wrongly." in page
