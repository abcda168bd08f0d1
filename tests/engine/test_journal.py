"""Results of an evaluation that was killed: only what is whole, and of the same evaluation, is used."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engine.evaluation.journal import EvaluationJournal
from engine.evaluation.per_image import ImageResult
from utils.errors import EnvironmentFault

SETTINGS = {"snapshot": "a", "options": {"scales": (1.0,)}}


def make_result(index: int) -> ImageResult:
    rng = np.random.default_rng(index)
    measures = {"counts": rng.integers(0, 2**50, (2, 3)), "sums": rng.integers(0, 3, (1, 4)) / 2}
    matrix = rng.integers(0, 2, (3, 3)) * rng.integers(1, 2**40, (3, 3))
    return ImageResult.from_matrix(index, f'städte/\udce9"{index}"', matrix, rng.random() * 1e6, measures)


def journal(folder: Path, indices=(), settings=SETTINGS, files=(), part="0_of_1") -> EvaluationJournal:
    """A journal with results; `files`: of each image."""
    split = SimpleNamespace(files=lambda index: files[index : index + 1])
    found = EvaluationJournal(folder, settings, split, part=part)
    for index in indices:
        found.add(make_result(index))
    return found


def indices(found: EvaluationJournal) -> list[int]:
    return [image.index for image in found.start(True)]


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A folder with the results 0 to 3, of two processes."""
    for some in ((2, 0), (1, 3)):
        journal(tmp_path / "partial", some)
    return tmp_path / "partial"


def test_results_come_back_as_they_were(stopped):
    found = journal(stopped).start(True)
    assert [image.index for image in found] == [0, 1, 2, 3]
    for image, expected in zip(found, map(make_result, range(4)), strict=True):
        assert (image.name, image.nll) == (expected.name, expected.nll)
        assert np.array_equal(image.confusion, expected.confusion) and image.confusion.dtype == np.int64
        assert image.measures.keys() == expected.measures.keys()
        for name, value in expected.measures.items():
            assert np.array_equal(image.measures[name], value) and image.measures[name].dtype == value.dtype


def test_an_image_without_labels_and_a_loss_that_is_no_number_come_back(tmp_path):
    journal(tmp_path).add(ImageResult.from_matrix(0, "n", np.zeros((3, 3), np.int64), float("nan"), {}))
    (image,) = journal(tmp_path).start(True)
    assert np.isnan(image.nll) and image.indices.dtype == np.int32 and not image.confusion.any()


@pytest.mark.parametrize("other", [{"snapshot": "b"}, {"options": {"scales": (1.0, 2.0)}}])
def test_results_of_another_evaluation_are_not_used(stopped, other):
    assert indices(journal(stopped, settings=SETTINGS | other)) == []


def test_nothing_is_left_without_resume_or_at_the_end(stopped):
    assert journal(stopped).start(False) == []
    assert not stopped.exists()
    journal(stopped, [0]).remove()
    assert not stopped.exists()


@pytest.mark.parametrize("change", [lambda f: f.write_bytes(b"xyz"), lambda f: f.write_bytes(b""), Path.unlink])
def test_an_image_whose_files_changed_is_not_finished(tmp_path, change):
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for file in files:
        file.write_bytes(b"abc")
    found = journal(tmp_path / "partial", range(3), files=files)
    change(files[1])
    assert indices(found) == [0, 2]


def test_parts_leave_each_others_results_alone(tmp_path):
    first, second = (journal(tmp_path / "partial", part=f"{i}_of_2") for i in range(2))
    first.add(make_result(0))
    assert second.start(False) == []
    second.add(make_result(1))
    second.remove()
    assert indices(first) == [0]
    first.remove()
    assert not (tmp_path / "partial").exists()


def test_torn_and_changed_lines_are_no_results(tmp_path):
    journal(tmp_path, [0, 1])
    (path,) = tmp_path.glob("*/*.jsonl")
    good = path.read_bytes()
    for cut in (1, 10, 64, 65, 200):
        path.write_bytes(good[:-cut])
        assert indices(journal(tmp_path)) == ([0, 1] if cut == 1 else [0])  # 1: the newline
    first = good.index(b"\n")
    for place in range(0, first, 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 : first])
        assert indices(journal(tmp_path)) == []


def test_a_full_disk_is_a_fault_with_the_files_name(stopped):
    found = journal(stopped, [4])
    found._file = Path("/dev/full")
    with pytest.raises(EnvironmentFault, match="/dev/full: cannot be written .No space left.*--resume"):
        found.add(make_result(5))
    assert indices(journal(stopped)) == [0, 1, 2, 3, 4]
