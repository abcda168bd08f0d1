"""Labels of COCO, labelme and YOLO become masks, pixel by pixel."""

import base64
import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.folder import build_split
from scripts.import_labels import main
from scripts.label_formats.outlines import Polygons

codec = pytest.importorskip("pycocotools.mask", reason="needs requirements-extras.txt")

HEIGHT, WIDTH = 48, 64
NAMES = ["road", "car", "tree"]


def layers(seed: int, count: int = 9) -> list[tuple[int, np.ndarray]]:
    """Filled forms of random classes, one over the other: class number and pixels (H,W) uint8."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        center, axes = rng.integers(0, (WIDTH, HEIGHT)).tolist(), rng.integers(1, 18, 2).tolist()
        if rng.random() < 0.5:
            cv2.ellipse(pixels, center, axes, int(rng.integers(180)), 0, 360, 1, -1)
        else:
            cv2.rectangle(pixels, center, np.add(center, axes).tolist(), 1, -1)
        made.append((int(rng.integers(3)), pixels))
    return made


def traced(pixels: np.ndarray) -> list[np.ndarray]:
    """Outlines (N,2) as programs trace them, of three points at least."""
    found, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [np.resize(one[:, 0], (max(3, len(one)), 2)) for one in found]


def expected(made: list[tuple[int, np.ndarray]], background: int = 0) -> np.ndarray:
    mask = np.full((HEIGHT, WIDTH), background, np.uint8)
    for number, pixels in made:
        mask[pixels > 0] = number + 1
    return mask


def photo(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def coco(path: Path, shapes: dict[str, list[dict]], categories: list | None = None) -> Path:
    """COCO's instances: file name -> annotations; category ids are 10, 20, 30."""
    images, annotations = [], []
    for number, (name, rows) in enumerate(shapes.items(), 5):
        images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        annotations += [{"id": len(annotations), "image_id": number, "iscrowd": 0, **row} for row in rows]
    categories = categories or [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(NAMES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    return path


def polygon(number: int, *parts: np.ndarray) -> dict:
    return {"category_id": 10 * (number + 1), "segmentation": [np.ravel(part).tolist() for part in parts]}


def runs(number: int, pixels: np.ndarray, compressed: bool) -> dict:
    data = codec.encode(np.asfortranarray(pixels))
    data["counts"] = data["counts"].decode()
    if not compressed:
        flat = pixels.ravel(order="F")
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
        data["counts"] = np.diff([0, *edges, flat.size]).tolist()
    return {"category_id": 10 * (number + 1), "segmentation": data}


def labelme(path: Path, shapes: list[dict], **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"imagePath": f"{path.stem}.png", "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.write_text(json.dumps({**data, "shapes": shapes, **more}))
    return path


def yolo_line(number: int, points: np.ndarray) -> str:
    return " ".join([str(number), *(f"{value:.6f}" for value in (points / (WIDTH, HEIGHT)).ravel())]) + "\n"


def convert(kind: str, labels: Path, images: Path, out: Path, *more: str) -> int:
    return main(["--format", kind, "--labels", str(labels), "--images", str(images), "--out", str(out), *more])


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def export(kind: str, root: Path, scenes: dict[str, list[tuple[int, np.ndarray]]]) -> Path:
    """The scenes as labels of a format, all classes in use; returns what --labels takes."""
    forms = {
        name: [(number, part) for number, pixels in made for part in traced(pixels)] for name, made in scenes.items()
    }
    if kind.startswith("coco"):
        of = {
            "coco": lambda number, pixels: polygon(number, *traced(pixels)),
            "coco halves": lambda number, pixels: polygon(number, *(part + 0.5 for part in traced(pixels))),
            "coco runs": lambda number, pixels: runs(number, pixels, compressed=False),
            "coco compressed": lambda number, pixels: runs(number, pixels, compressed=True),
        }[kind]
        return coco(root / "a.json", {f"{name}.png": [of(*layer) for layer in made] for name, made in scenes.items()})
    for name, parts in forms.items():
        if kind == "labelme":
            shapes = [{"label": NAMES[number], "points": part.tolist()} for number, part in parts]
            labelme(root / f"{name}.json", shapes)
        else:
            (root / f"{name}.txt").write_text("".join(yolo_line(*part) for part in parts))
    (root / ("labels.txt" if kind == "labelme" else "classes.txt")).write_text("\n".join(NAMES))
    return root


@pytest.mark.parametrize("background", ["class", "ignore"])
@pytest.mark.parametrize("kind", ["coco", "coco halves", "coco runs", "coco compressed", "labelme", "yolo"])
def test_masks_come_back_pixel_by_pixel(kind, background, tmp_path, capsys):
    scenes = {f"p{seed}": layers(seed) for seed in range(8)}
    for name in [*scenes, "unlabelled"]:
        photo(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "labels").mkdir()
    labels, out = export(kind, tmp_path / "labels", scenes), tmp_path / "new" / "out"
    assert convert(kind.split()[0], labels, tmp_path / "photos", out, "--background", background) == 0
    said = capsys.readouterr().out
    assert "note: 1 images without labels left out" in said
    assert said.splitlines()[-1] == f"next: python scripts/doctor.py --dataset folder --data_root {out}"
    for name, made in scenes.items():
        assert (read(out / "masks" / f"{name}.png") == expected(made, 255 if background == "ignore" else 0)).all()
    rows = [{"name": name, "id": number} for number, name in enumerate(NAMES, 1)]
    rows = rows if background == "ignore" else [{"name": "background", "id": 0}, *rows]
    assert json.loads((out / "classes.json").read_text())["classes"] == rows
    split = build_split(out, "trainval")
    assert len(split) == len(scenes) and split.load_label(0).shape == split.load_image(0).shape[:2]


def test_a_pixel_belongs_to_a_clicked_polygon_if_its_centre_is_inside():
    rng = np.random.default_rng(3)
    for _ in range(40):
        points = rng.uniform((-9, -9), (WIDTH + 9, HEIGHT + 9), (int(rng.integers(3, 9)), 2))
        top, left, pixels = Polygons([points]).cover(HEIGHT, WIDTH)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        outline = points.astype(np.float32)
        inside = [
            [cv2.pointPolygonTest(outline, (x + 0.5, y + 0.5), False) > 0 for x in range(WIDTH)] for y in range(HEIGHT)
        ]
        assert (mask == inside).all()


def test_clicked_polygons_are_those_of_pycocotools_but_for_the_outline():
    rng = np.random.default_rng(5)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        points = (32, 24) + rng.uniform(8, 22, (12, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        top, left, pixels = Polygons([points]).cover(HEIGHT, WIDTH)
        ours = np.zeros((HEIGHT, WIDTH), np.uint8)
        ours[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        theirs = codec.decode(codec.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH))[..., 0]
        outline = np.zeros_like(ours)
        cv2.polylines(outline, [np.rint((points - 0.5) * 16).astype(np.int32)], True, 1, shift=4)
        assert not ((ours != theirs) & (cv2.dilate(outline, np.ones((3, 3))) == 0)).any()
        assert (ours & theirs).sum() > 0.95 * (ours | theirs).sum()


def test_parts_holes_crowds_and_order_of_coco(tmp_path, capsys):
    photo(tmp_path / "photos" / "sub" / "a.png")
    ring = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(ring, (30, 20), 15, 1, 4)
    square = np.array([[2, 2], [9, 2], [9, 9], [2, 9]])
    rows = [
        polygon(0, square, square + (5, 5)),
        runs(1, ring, True),
        {**polygon(2, square + (40, 30)), "iscrowd": 1},
        {"category_id": 10, "segmentation": [], "bbox": [1, 1, 9, 9]},
    ]
    labels = coco(tmp_path / "a.json", {"sub/a.png": rows})
    assert convert("coco", labels, tmp_path / "photos", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "note: 1 annotations that are boxes without" in said and "note: 1 crowds ignored" in said
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[2:10, 2:10] = wanted[7:15, 7:15] = 1  # where they overlap, too
    wanted[ring > 0] = 2
    wanted[32:40, 42:50] = 255
    assert (read(tmp_path / "out" / "masks" / "sub" / "a.png") == wanted).all()
    assert (tmp_path / "out" / "images" / "sub" / "a.png").samefile(tmp_path / "photos" / "sub" / "a.png")


def test_roboflow_keeps_splits_and_drops_the_group(tmp_path, capsys):
    square = np.array([[2, 2], [9, 2], [9, 9], [2, 9]])
    categories = [{"id": 0, "name": "things", "supercategory": "none"}]
    categories += [{"id": 10 * (i + 1), "name": name, "supercategory": "things"} for i, name in enumerate(NAMES)]
    for folder in ("train", "valid", "test"):
        photo(tmp_path / "in" / folder / "a.png")
        coco(tmp_path / "in" / folder / "_annotations.coco.json", {"a.png": [polygon(1, square)]}, categories)
    assert convert("coco", tmp_path / "in", tmp_path / "in", tmp_path / "out") == 0
    assert "note: 1 categories that only group others left out" in capsys.readouterr().out
    for split in ("train", "val", "test"):
        (item,) = build_split(tmp_path / "out", split).items
        assert item.name == "a" and read(item.label).max() == 2


def test_files_of_splits_beside_each_other(tmp_path):
    for split in ("train", "val"):
        photo(tmp_path / "photos" / f"{split}2017" / "a.png")
        coco(tmp_path / "annotations" / f"instances_{split}2017.json", {"a.png": []})
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    assert convert("coco", tmp_path / "annotations", tmp_path / "photos", tmp_path / "out") == 0
    assert sorted(path.parent.name for path in (tmp_path / "out" / "masks").rglob("*.png")) == ["train", "val"]


def test_an_image_in_two_splits_is_refused(tmp_path, capsys):
    photo(tmp_path / "photos" / "a.png")  # the second tool's a.png lies over the first one's
    for split in ("train", "val"):
        coco(tmp_path / "annotations" / f"{split}.json", {"a.png": []})
    code = convert("coco", tmp_path / "annotations", tmp_path / "photos", tmp_path / "out")
    refused(capsys, tmp_path, code, 3, ["train.json", "val.json", "are both image 'a'; remove or rename one"])


@pytest.mark.parametrize(("kind", "code"), [("MPO", 0), ("GIF", 3)])
def test_an_embedded_photo_gets_a_suffix_that_is_read(kind, code, tmp_path, capsys):
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "blue")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    data = base64.b64encode(buffer.getvalue()).decode()
    shape = {"label": "car", "points": [[3, 30], [9, 30], [9, 40], [3, 40]]}
    labelme(tmp_path / "in" / "a.json", [shape], imagePath="a.jpg", imageData=data)
    assert convert("labelme", tmp_path / "in", tmp_path / "in", tmp_path / "out") == code
    if code:
        assert "imageData: GIF, which no data set reads" in capsys.readouterr().err
    else:
        assert [path.name for path in (tmp_path / "out" / "images").rglob("a.*")] == ["a.jpg"]


def test_a_file_whose_name_makes_all_of_it_the_test_split_is_said(tmp_path, capsys):
    photo(tmp_path / "photos" / "a.png")
    coco(tmp_path / "my_test.json", {"a.png": []})
    assert convert("coco", tmp_path / "my_test.json", tmp_path / "photos", tmp_path / "out") == 0
    assert "note: no image is to train on: the names of files and folders, as" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_both_layouts_of_yolo(layout, tmp_path):
    root, made = tmp_path / "in", layers(1)
    root.mkdir()
    (root / "data.yaml").write_text("train: x\nnames:\n  0: road\n  1: car\n  2: tree\n")
    for split in ("train", "val"):
        photo(root / layout.format(kind="images", split=split) / "a.jpg")
        labels = root / layout.format(kind="labels", split=split)
        labels.mkdir(parents=True)
        (labels / "a.txt").write_text("".join(yolo_line(n, part) for n, pixels in made for part in traced(pixels)))
    assert convert("yolo", root, root, tmp_path / "out") == 0
    for split in ("train", "val"):
        (item,) = build_split(tmp_path / "out", split).items
        assert (read(item.label) == expected(made)).all()


def test_shapes_of_labelme(tmp_path, capsys):
    photo(tmp_path / "a.png")
    blob = layers(4)[0][1][10:30, 10:40]
    coded = base64.b64encode(cv2.imencode(".png", blob * 255)[1]).decode()
    shapes = [
        {"label": "car", "points": [[40, 30], [20, 20]], "shape_type": "rectangle", "group_id": 3},
        {"label": "_background_", "points": [[24.4, 22.4], [26.6, 24.6]], "shape_type": "rectangle"},
        {"label": "tree", "points": [[10, 10], [14, 10]], "shape_type": "circle"},
        {"label": "__ignore__", "points": [[50, 2], [52, 2], [52, 4], [50, 4]], "shape_type": "polygon"},
        {"label": "road", "points": [[33, 5], [62, 24]], "shape_type": "mask", "mask": coded},
        {"label": "road", "points": [[1, 1], [50, 40]], "shape_type": "line"},
    ]
    labelme(tmp_path / "a.json", shapes, imagePath="..\\photos\\a.png")
    assert convert("labelme", tmp_path, tmp_path, tmp_path / "out") == 0
    assert "note: 1 shapes without an area (line) left out" in capsys.readouterr().out
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[20:31, 20:41] = 1
    wanted[22:25, 24:27] = 0
    rows, columns = np.indices(wanted.shape)
    wanted[(columns + 0.5 - 10) ** 2 + (rows + 0.5 - 10) ** 2 <= 16] = 3
    wanted[2:5, 50:53] = 255
    wanted[5:25, 33:63][blob > 0] = 2
    assert (read(tmp_path / "out" / "masks" / "a.png") == wanted).all()


@pytest.mark.parametrize("shown", ["upright", "as stored", "in the file"])
def test_photos_that_the_camera_turned(shown, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = photo(tmp_path / "in" / "a.jpg", exif=exif)
    pixels = np.asarray(Image.open(path))
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    if shown != "as stored":
        pixels, size = np.rot90(pixels, -1), {"imageHeight": WIDTH, "imageWidth": HEIGHT}
    if shown == "in the file":
        path.unlink()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        size["imageData"] = base64.b64encode(buffer.getvalue()).decode()
    shape = {"label": "car", "points": [[3, 30], [9, 30], [9, 40], [3, 40]]}
    labelme(tmp_path / "in" / "a.json", [shape], imagePath="a.jpg", **size)
    assert convert("labelme", tmp_path / "in", tmp_path / "in", tmp_path / "out") == 0
    (item,) = build_split(tmp_path / "out", "trainval").items
    assert (np.asarray(Image.open(item.image)) == pixels).all()
    assert (np.argwhere(read(item.label)) == np.argwhere(np.pad(np.ones((11, 7)), ((30, 0), (3, 0))))).all()


def square_of(number: int = 0, **more) -> dict:
    return {**polygon(number, np.array([[2, 2], [9, 2], [9, 9]])), **more}


COCO_FAULTS = {
    "outside": ([square_of(segmentation=[[99, 2, 120, 2, 120, 9]])], ["annotation 0 on a.png", "outside", "64x48"]),
    "category": ([square_of(category_id=7)], ["annotation 0: unknown category 7", "10, 20, 30"]),
    "image": ([square_of(image_id=99)], ["unknown image 99"]),
    "boxes": ([square_of(segmentation=[], bbox=[1, 2, 3, 4])], ["all 1 annotations are boxes"]),
    "nothing": ([square_of(segmentation=None)], ["no segmentation"]),
    "points": ([square_of(segmentation=[[1, 2, 3, 4]])], ["3 or more pairs", "[1, 2, 3, 4]"]),
    "nan": ([square_of(segmentation=[[1, 2, 3, 4, 5, float("nan")]])], ["3 or more pairs"]),
    "size": ([square_of(segmentation={"size": [4, 4], "counts": [16]})], ["4x4", "64x48"]),
    "short": ([square_of(segmentation={"size": [HEIGHT, WIDTH], "counts": [5, 7]})], ["runs don't make a mask"]),
    "cut": ([square_of(segmentation={"size": [HEIGHT, WIDTH], "counts": "52"})], ["runs don't make a mask"]),
    "damaged": ([square_of(segmentation={"size": [HEIGHT, WIDTH], "counts": "~~~"})], ["runs don't make a mask"]),
}


def refused(capsys, tmp_path: Path, code: int, wanted: int, words: list[str]) -> None:
    """One line with the words; nothing left of the data set."""
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert code == wanted and len(lines) == 1 and "internal" not in error, error
    assert not [word for word in words if word not in lines[0]], lines[0]
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("fault", COCO_FAULTS)
def test_coco_that_is_refused(fault, tmp_path, capsys):
    rows, words = COCO_FAULTS[fault]
    photo(tmp_path / "photos" / "a.png")
    labels = coco(tmp_path / "a.json", {"a.png": rows})
    refused(capsys, tmp_path, convert("coco", labels, tmp_path / "photos", tmp_path / "out"), 3, [str(labels), *words])


def many(root: Path) -> None:
    coco(root / "a.json", {"a.png": []}, [{"id": i, "name": f"c{i}"} for i in range(255)])


def unlike(root: Path) -> None:
    photo(root / "a.png", (10, 20))
    coco(root / "a.json", {"a.png": []})


def repeated(root: Path) -> None:
    coco(root / "a.json", {"a.png": [], "b/../a.png": []})


def twins(root: Path) -> None:
    photo(root / "a.jpg")
    coco(root / "a.json", {"a.png": []})


def two_places(root: Path) -> None:
    photo(root / "b" / "c.png")
    photo(root / "d" / "c.png")
    coco(root / "a.json", {"c.png": []})


def half_split(root: Path) -> None:
    photo(root / "train" / "b.png")
    coco(root / "a.json", {"a.png": [], "train/b.png": []})


CASES = {
    "not JSON": ("coco", lambda root: (root / "a.json").write_text("{"), ["a.json", "not valid JSON"]),
    "not COCO": ("coco", lambda root: (root / "a.json").write_text("{}"), ["a.json", "'images'", "--format"]),
    "no labels": ("coco", lambda root: None, ["no JSON file", "--labels"]),
    "no image": ("coco", lambda root: coco(root / "a.json", {"b.png": []}), ["no image b.png", "--images"]),
    "too many": ("coco", many, ["255 classes", "254"]),
    "sizes": ("coco", unlike, ["labelled at 64x48", "20x10"]),
    "repeated": ("coco", repeated, ["both image 'a'"]),
    "one name": ("coco", twins, ["a.jpg", "a.png", "unique"]),
    "two places": ("coco", two_places, ["a.json: c.png may be", "--images"]),
    "half split": ("coco", half_split, ["a.png is in no split", "train"]),
    "no photo": ("labelme", lambda root: labelme(root / "b.json", []), ["b.json: no image b.png"]),
    "form": (
        "labelme",
        lambda root: labelme(root / "a.json", [{"label": "x", "points": [[1, 2]], "shape_type": "star"}]),
        ["shapes[0] (x)", "'star'", "polygon"],
    ),
    "label": (
        "labelme",
        lambda root: [
            labelme(root / "a.json", [{"label": "x", "points": [[1, 2], [9, 2], [9, 9]]}]),
            (root / "labels.txt").write_text("road\n"),
        ],
        ["shapes[0] (x)", "unknown label 'x'", "labels.txt has road"],
    ),
    "no names": ("yolo", lambda root: (root / "a.txt").write_text(""), ["data.yaml", "classes.txt"]),
    "box": ("yolo", lambda root: yolo(root, "0 0.5 0.5 0.1 0.1"), ["all 1 lines are detection boxes (5 numbers)"]),
    "no images": ("coco", lambda root: coco(root / "a.json", {}), ["in: names no image", "--labels"]),
    "class": ("yolo", lambda root: yolo(root, "\n3 0 0 0 1 1 1"), ["a.txt:2: unknown class '3'", "0 to 2 (road, car"]),
    "words of a box": ("yolo", lambda root: yolo(root, "0 a b c d"), ["a.txt:1", "2 or more pairs"]),
    "number": ("yolo", lambda root: yolo(root, f"{'9' * 5000} 0 0 0 1 1 1"), ["a.txt:1: unknown class '999"]),
    "class of a box": ("yolo", lambda root: yolo(root, "hello 0 0 1 1"), ["a.txt:1: unknown class 'hello'"]),
    "words": ("yolo", lambda root: yolo(root, "0 0 0 x 1 1 1"), ["a.txt:1", "3 or more pairs"]),
    "pixels": ("yolo", lambda root: yolo(root, "0 9 9 20 9 20 20"), ["a.txt:1 on a.txt", "outside"]),
    "lost image": ("yolo", lambda root: yolo(root, "", "b.txt"), ["b.txt: no image"]),
}


def yolo(root: Path, text: str, name: str = "a.txt") -> None:
    (root / "classes.txt").write_text("\n".join(NAMES))
    (root / name).write_text(text)


def test_detection_boxes_among_polygons_of_yolo_are_counted(tmp_path, capsys):
    photo(tmp_path / "in" / "a.png")
    yolo(tmp_path / "in", "0 0.5 0.5 0.1 0.1\n0 0 0 1 0 1 1")
    assert convert("yolo", tmp_path / "in", tmp_path / "in", tmp_path / "out") == 0
    assert "note: 1 annotations that are boxes without" in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES)
def test_labels_that_are_refused(case, tmp_path, capsys):
    kind, make, words = CASES[case]
    photo(tmp_path / "in" / "a.png")
    make(tmp_path / "in")
    refused(capsys, tmp_path, convert(kind, tmp_path / "in", tmp_path / "in", tmp_path / "out"), 3, words)


def test_a_second_shape_that_fails_leaves_nothing(tmp_path, capsys, monkeypatch):
    photo(tmp_path / "in" / "a.png")
    coco(tmp_path / "in" / "a.json", {"a.png": [square_of(), runs(0, np.ones((HEIGHT, WIDTH), np.uint8), True)]})
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    words = ["run-length masks", "pycocotools", "pip install -r requirements-extras.txt"]
    refused(capsys, tmp_path, convert("coco", tmp_path / "in", tmp_path / "in", tmp_path / "out"), 5, words)


def test_a_mount_point_is_refused_before_anything_is_read(tmp_path, capsys, monkeypatch):
    labels = coco(tmp_path / "a.json", {"a.png": []})
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")
    assert convert("coco", labels, tmp_path, tmp_path / "mounted") == 2
    assert "a mount point can't be replaced" in capsys.readouterr().err


def test_wrong_options(tmp_path, capsys):
    photo(tmp_path / "in" / "a.png")
    labels = coco(tmp_path / "a.json", {"a.png": []})
    refused(capsys, tmp_path, convert("coco", tmp_path / "b.json", tmp_path, tmp_path / "out"), 2, ["--labels"])
    refused(capsys, tmp_path, convert("coco", labels, tmp_path / "photos", tmp_path / "out"), 2, ["--images"])
    assert convert("coco", labels, tmp_path / "in", tmp_path / "in") == 2
    assert "not an empty folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert convert("coco", labels, tmp_path / "in", tmp_path / "empty") == 0
