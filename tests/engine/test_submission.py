"""The zip for a benchmark server and the checks before it, on predictions with every fault."""

import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datasets.base import ClassTable, FileItem, FileSplit
from datasets.cityscapes import CLASSES, build_split
from engine.evaluation.submission import prepare_submission, write_submission
from engine.evaluation.submission_check import ZipFiles
from utils.errors import DataError, EnvironmentFault
from utils.logging import setup_logging

HEIGHT, WIDTH = 6, 9
NAMES = ["berlin_000000_000019", "berlin_000001_000019", "munich_000000_000019"]


class Place:
    """A split of Cityscapes' test images and valid predictions for them."""

    def __init__(self, folder) -> None:
        self.pred, self.zip = folder / "pred", folder / "out" / "submission.zip"
        self.pred.mkdir()
        items = []
        for i, name in enumerate(NAMES):
            image = folder / f"{name}_leftImg8bit.png"
            Image.new("RGB", (WIDTH, HEIGHT)).save(image)
            items.append(FileItem(name, image, None))
            self.save(name, np.array(CLASSES.label_ids)[np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % (3 + i)])
        self.split = FileSplit("cityscapes", "test", CLASSES, items)

    def save(self, name: str, labels: np.ndarray, mode: str = "L") -> None:
        Image.fromarray(labels.astype(np.uint8)).convert(mode).save(self.pred / f"{name}.png")

    def write(self) -> None:
        prepare_submission(self.zip, self.pred, self.split)
        write_submission(self.zip, self.pred, self.split)

    def refused(self, *words: str) -> str:
        with pytest.raises(DataError) as info:
            write_submission(self.zip, self.pred, self.split)
        assert all(word in str(info.value) for word in words), info.value
        assert not list(self.zip.parent.glob("*"))
        return str(info.value)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_zip_is_flat_and_holds_the_checked_files(place):
    (place.pred / ".a.png.x1.tmp").touch()  # what an interrupted writer left is no extra file
    place.write()
    with zipfile.ZipFile(place.zip) as archive:
        assert archive.namelist() == [f"{name}_leftImg8bit.png" for name in NAMES]
        for name in NAMES:
            assert archive.read(f"{name}_leftImg8bit.png") == (place.pred / f"{name}.png").read_bytes()
    assert place.zip.stat().st_mode & 0o444 and [path.name for path in place.zip.parent.iterdir()] == ["submission.zip"]


def test_equal_predictions_give_equal_bytes(place):
    place.write()
    first = place.zip.read_bytes()
    place.split.items = place.split.items[::-1]
    place.split.names.reverse()
    for path in place.pred.iterdir():
        path.touch()
    place.write()
    assert place.zip.read_bytes() == first


def test_all_findings_come_in_one_message(place):
    (place.pred / f"{NAMES[0]}.png").unlink()
    place.save(NAMES[1], np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3)  # train ids
    place.save(NAMES[2], np.full((HEIGHT, WIDTH + 1), 7))
    for i in range(4):
        place.save(f"old{i}", np.full((HEIGHT, WIDTH), 7))
    place.refused(
        f"1 missing ({NAMES[0]}.png)",
        f"no class's label id (train ids?) ({NAMES[1]}.png holds 0, 1, 2)",
        f"not of the size that is asked for ({NAMES[2]}.png is 10x6 for 9x6)",
        "4 not of split test (old0.png, old1.png, old2.png, ...)",
    )


CONSTANT = np.full((HEIGHT, WIDTH), 7)


@pytest.mark.parametrize(
    ("labels", "mode", "finding"),
    [
        (np.where(np.eye(HEIGHT, WIDTH), 0, 7), "L", f"({NAMES[0]}.png holds 0)"),  # ignored
        (np.where(np.eye(HEIGHT, WIDTH), 255, 7), "L", f"({NAMES[0]}.png holds 255)"),
        (CONSTANT, "L", f"1 constant ({NAMES[0]}.png holds only 7)"),
        *(
            (CONSTANT, mode, f"1 not 8-bit with one channel ({NAMES[0]}.png)")
            for mode in ("RGB", "P", "1", "LA", "I;16")
        ),
    ],
)
def test_what_a_file_may_not_hold(place, labels, mode, finding):
    place.save(NAMES[0], labels, mode)
    place.refused(finding)


def test_equal_predictions(place):
    for name in NAMES:
        place.save(name, 7 + np.eye(HEIGHT, WIDTH))
    place.refused("3 all the same")
    for name in NAMES[1:]:
        (place.pred / f"{name}.png").unlink()
    assert "the same" not in place.refused("2 missing")


def test_damaged_and_foreign_files(place):
    path = place.pred / f"{NAMES[0]}.png"
    path.write_bytes(path.read_bytes()[:60])
    Image.new("L", (WIDTH, HEIGHT)).save(place.pred / f"{NAMES[1]}.png", format="BMP")
    (place.pred / f"{NAMES[2]}.png").write_bytes(b"")
    place.refused("3 not readable as PNG")


def test_a_zip_that_asks_for_another_version_is_no_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", b"1")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 255
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="a.zip: not a readable zip"):
        ZipFiles(tmp_path / "a.zip")


def test_a_damaged_entry_of_any_compression_is_empty(tmp_path):
    for name in ("ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", getattr(zipfile, name)) as file:
            file.writestr("a.png", bytes(range(256)) * 9)
        content = bytearray((tmp_path / "a.zip").read_bytes())
        content[60:80] = bytes(20)
        (tmp_path / "a.zip").write_bytes(content)
        assert ZipFiles(tmp_path / "a.zip").read("a.png") == b""


def test_files_of_another_split_are_refused_at_the_start(place):
    place.save("old", np.eye(4))
    with pytest.raises(DataError, match="1 not of split test .old.png.*--save_dir"):
        prepare_submission(place.zip, place.pred, place.split)


def test_disk_full(place, monkeypatch):
    def full(file) -> None:
        raise OSError(28, "No space left on device")

    prepare_submission(place.zip, place.pred, place.split)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EnvironmentFault, match="submission.zip.*No space left"):
        write_submission(place.zip, place.pred, place.split)
    assert not list(place.zip.parent.iterdir())


def test_names_that_would_meet_in_a_flat_zip(tmp_path):
    def split(*names):
        items = [FileItem(name, tmp_path / f"{name}.jpg", None) for name in names]
        return FileSplit("folder", "test", CLASSES, items)

    assert split("a/b").submission_name(0) == "a_b.png"
    with pytest.raises(DataError, match="a/b and a_b would both be a_b.png"):
        prepare_submission(tmp_path / "s.zip", tmp_path / "pred", split("a/b", "a_b"))


def small_split(folder, names, ids, value) -> SimpleNamespace:
    """A split with the classes of `ids`, and predictions that hold `value` alone."""
    table = ClassTable(
        tuple(f"c{i}" for i in ids), tuple((i, i, i) for i in ids), ids, {i: n for n, i in enumerate(ids)}
    )
    for name in names:
        (folder / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3, 3), value, np.uint8)).save(folder / f"{name}.png")
    return SimpleNamespace(
        names=names,
        split="val",
        classes=table,
        submission_size=None,
        submission_count=None,
        submission_name=lambda index: names[index].replace("/", "_") + ".png",
        load_image=lambda index: np.zeros((3, 3, 3), np.uint8),
    )


def test_subfolders_and_a_single_class(tmp_path):
    split = small_split(tmp_path / "pred", ["a/b"], (4,), 4)
    write_submission(tmp_path / "s.zip", tmp_path / "pred", split)
    assert zipfile.ZipFile(tmp_path / "s.zip").namelist() == ["a_b.png"]


@pytest.mark.parametrize("ids", [(0, 1), (0, 1, 2)])
def test_one_class_alone_is_doubtful_where_there_are_only_two(tmp_path, capfd, ids):
    setup_logging(True)
    split = small_split(tmp_path / "pred", ["a", "b"], ids, 0)
    if len(ids) > 2:
        with pytest.raises(DataError, match="2 constant .*2 all the same"):
            write_submission(tmp_path / "s.zip", tmp_path / "pred", split)
        return
    write_submission(tmp_path / "s.zip", tmp_path / "pred", split)
    assert zipfile.ZipFile(tmp_path / "s.zip").namelist() == ["a.png", "b.png"]
    shown = capfd.readouterr().out
    assert "2 constant (a.png holds only 0, b.png holds only 0)" in shown and "2 all the same (a.png, b.png)" in shown
    Image.fromarray(np.eye(3, dtype=np.uint8) * 9).save(tmp_path / "pred" / "a.png")  # other faults stay faults
    with pytest.raises(DataError, match="a.png holds 9"):
        write_submission(tmp_path / "s.zip", tmp_path / "pred", split)


def test_cityscapes_wants_its_size_and_warns_of_another_count(tmp_path, capfd):
    setup_logging(True)
    city = tmp_path / "data" / "leftImg8bit" / "test" / "berlin"
    city.mkdir(parents=True)
    for i in range(2):  # of another size than the server's, as a tree of the user's own may be
        Image.new("RGB", (64, 32)).save(city / f"berlin_00000{i}_000019_leftImg8bit.png")
    split, pred, path = build_split(tmp_path / "data", "test"), tmp_path / "pred", tmp_path / "s.zip"
    pred.mkdir()
    labels = np.full((1024, 2048), 7, np.uint8)
    for i, name in enumerate(split.names):
        labels[i] = 8
        Image.fromarray(labels).save(pred / f"{name}.png")
    with pytest.raises(DataError, match="2 of 2 images are not 2048x1024 .*_leftImg8bit.png is 64x32.*--data_root"):
        prepare_submission(path, pred, split)  # before the first prediction
    for image in city.iterdir():
        Image.new("RGB", (2048, 1024)).save(image)
    prepare_submission(path, pred, split)
    assert "the server asks for 1525 images and split test has 2 here" in capfd.readouterr().out
    write_submission(path, pred, split)
    assert len(zipfile.ZipFile(path).namelist()) == 2
    path.unlink()
    Image.fromarray(labels[:32, :64]).save(pred / f"{split.names[0]}.png")
    with pytest.raises(DataError, match=f"1 not of the size .* .{split.names[0]}.png is 64x32 for 2048x1024"):
        write_submission(path, pred, split)
    (pred / f"{split.names[0]}.png").unlink()
    with pytest.raises(DataError, match=f"1 missing .{split.names[0]}.png"):
        write_submission(path, pred, split)
    assert not path.exists()
