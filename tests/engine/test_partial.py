"""Results of an evaluation that was killed: only what is whole, and of the same evaluation, is used."""

from pathlib import Path

import numpy as np
import pytest

from engine.evaluation.journal import EvaluationJournal, fingerprint
from engine.evaluation.per_image import ImageResult
from utils.errors import EnvironmentFault


def make_result(index: int, classes: int = 3) -> ImageResult:
    rng = np.random.default_rng(index)
    measures = {"counts": rng.integers(0, 2**50, (2, 3)), "sums": rng.random((1, 4))}
    matrix = rng.integers(0, 2, (classes, classes)) * rng.integers(1, 2**40, (classes, classes))
    return ImageResult.from_matrix(index, f'städte/"{index}"', matrix, rng.random() * 1e6, measures)


def assert_same(found: ImageResult, expected: ImageResult) -> None:
    assert (found.index, found.name, found.nll) == (expected.index, expected.name, expected.nll)
    assert np.array_equal(found.confusion, expected.confusion) and found.confusion.dtype == np.int64
    assert found.measures.keys() == expected.measures.keys()
    for name, value in expected.measures.items():
        assert np.array_equal(found.measures[name], value) and found.measures[name].dtype == value.dtype


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A folder with the results 0 to 3, of two processes."""
    for indices in ((2, 0), (1, 3)):
        partial = EvaluationJournal(tmp_path / "partial", "abc")
        for index in indices:
            partial.add(make_result(index))
    return tmp_path / "partial"


def test_results_come_back_as_they_were(stopped):
    found = EvaluationJournal(stopped, "abc").start(True)
    assert [image.index for image in found] == [0, 1, 2, 3]
    for image in found:
        assert_same(image, make_result(image.index))


def test_results_of_another_evaluation_are_not_used(stopped):
    assert EvaluationJournal(stopped, "abd").load() == []
    parts = {"snapshot": "a", "options": {"scales": (1.0,)}}
    assert fingerprint(**parts) == fingerprint(**parts)
    assert fingerprint(**parts) != fingerprint(snapshot="a", options={"scales": (1.0, 2.0)})
    assert fingerprint(**parts) != fingerprint(snapshot="b", options={"scales": (1.0,)})


def test_without_resume_they_are_cleared(stopped):
    assert EvaluationJournal(stopped, "abc").start(False) == []
    assert not stopped.exists()


@pytest.mark.parametrize("change", [lambda f: f.write_bytes(b"xyz"), lambda f: f.write_bytes(b""), Path.unlink])
def test_an_image_whose_files_changed_is_not_finished(tmp_path, change):
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for file in files:
        file.write_bytes(b"abc")
    partial = EvaluationJournal(tmp_path / "partial", "abc", lambda index, name: [files[index]])
    for index in range(3):
        partial.add(make_result(index))
    change(files[1])
    assert [image.index for image in partial.start(True)] == [0, 2]


def test_parts_leave_each_others_results_alone(tmp_path):
    first, second = (EvaluationJournal(tmp_path / "partial", "abc", part=f"{i}_of_2") for i in range(2))
    first.add(make_result(0))
    assert second.start(False) == []
    second.add(make_result(1))
    second.remove()
    assert [image.index for image in first.load()] == [0]
    first.remove()
    assert not (tmp_path / "partial").exists()


@pytest.mark.parametrize("cut", [1, 10, 64, 65, 200])
def test_a_torn_last_line_is_no_result(tmp_path, cut):
    partial = EvaluationJournal(tmp_path, "abc")
    partial.add(make_result(0))
    partial.add(make_result(1))
    (path,) = tmp_path.glob("*/*.log")
    path.write_bytes(path.read_bytes()[:-cut])
    found = EvaluationJournal(tmp_path, "abc").load()
    assert [image.index for image in found] == ([0, 1] if cut == 1 else [0])  # 1: the newline


def test_no_changed_byte_is_believed(tmp_path):
    partial = EvaluationJournal(tmp_path, "abc")
    partial.add(make_result(0))
    (path,) = tmp_path.glob("*/*.log")
    good = path.read_bytes()
    for place in range(0, len(good) - 1, 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert EvaluationJournal(tmp_path, "abc").load() == []


def test_a_full_disk_is_a_fault_with_the_files_name(stopped):
    partial = EvaluationJournal(stopped, "abc")
    partial.add(make_result(4))
    partial._file = Path("/dev/full")
    with pytest.raises(EnvironmentFault, match="/dev/full: cannot be written .No space left.*--resume"):
        partial.add(make_result(5))
    assert len(EvaluationJournal(stopped, "abc").load()) == 5


def test_nothing_is_left_at_the_end(stopped):
    EvaluationJournal(stopped, "abc").remove()
    assert not stopped.exists()
