"""Every data set through train.py, eval.py and the demo; the examples of DATASETs.md, as they stand there."""

import json
import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
import demo_folder
import eval as evaluation
import train
from scripts import doctor
from tests.datasets import trees

DOC = (Path(__file__).parents[1] / "DATASETs.md").read_text()
SIZE = (32, 48)
TINY = ["--arch", "fenet_tiny", "--channels", "16", "--device", "cpu", "--num_workers", "0", "--bs_mult", "2"]
TINY += ["--crop_size", "32", "--pre_size", "32", "--base_size", "48", "--test_mode"]
SOON = ("camvid", "cityscapes", "folder")  # those that are tried each time
SMALL = ["--device", "cpu", "--num_workers", "0", "--base_size", "48"]


def section(name: str) -> str:
    """The section of DATASETs.md of a data set, whose heading is its name, perhaps with more after a colon."""
    (text,) = (part for part in DOC.split("\n## ")[1:] if re.match(rf"{name}(:|\n)", part))
    return text


def blocks(text: str, language: str) -> list[str]:
    """The code of a language in a text, without its indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


def commands(text: str) -> list[list[str]]:
    """The command lines of a text, as arguments after `python`."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("python ")]


def run(command: list[str], *more: str) -> int:
    """Run a documented command in this process, with options that make it small."""
    script, *argv = command
    programs = {"train.py": train, "eval.py": evaluation, "demo_folder.py": demo_folder, "scripts/doctor.py": doctor}
    return programs[script].main([*argv, *more])


@pytest.mark.parametrize(
    "name",
    [
        name if name in SOON else pytest.param(name, marks=pytest.mark.slow)
        for name in trees.MAKERS
        if name in datasets.list_datasets()
    ],
)
def test_the_commands_of_each_section_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = trees.make(name, tmp_path / "data" / name, SIZE)
    if name == "cityscapes":
        trees.make_coarse(root, ["bamberg"], size=SIZE)
    for part in ("trainval", "test", *(["train_extra"] if name == "cityscapes" else [])):
        for item in datasets.build_split(name, root, part).items:
            trees.save(item.image, trees.noise(*SIZE))
    training, *others = commands(section(name))
    assert training[0] == "train.py"
    assert run(training, *TINY) == 0
    snapshot = f"logs/ckpt/{training[training.index('--exp') + 1]}/best.pth"
    for command in others:
        assert run(command, *SMALL) == 0
    # predictions hold the ids of the data set's own files
    arguments = ["--snapshot", snapshot, "--data_root", str(root), "--split", "test", "--save_dir", "test"]
    assert evaluation.main([*arguments, *SMALL, "--dump_images"]) == 0
    split = datasets.build_split(name, root, "test")
    for sample in split.names:
        ids = np.array(Image.open(f"test/pred/{sample}.png"))
        assert ids.shape == SIZE and set(np.unique(ids)) <= set(split.classes.label_ids)
    photos = split.items[0].image.parent
    assert demo_folder.main(["--demo_folder", str(photos), "--snapshot", snapshot, "--device", "cpu"]) == 0


def test_your_own_data_from_coloured_masks_to_the_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = section("folder")
    (tmp_path / "yard").mkdir()
    page = json.loads(blocks(text, "json")[0])
    classes = page["classes"]
    Path("yard/classes.json").write_text(json.dumps(page | {"masks": "color", "ignore": [[0, 0, 0]]}))
    for i in range(5):
        image, colors = trees.noise(*SIZE, seed=i), np.zeros((*SIZE, 3), np.uint8)
        for k, row in enumerate(classes):
            colors[:, 10 * k : 10 * (k + 1)] = row["color"]
        trees.save(Path("yard/images") / f"{i:03d}.jpg", image)
        trees.save(Path("yard/masks") / f"{i:03d}.png", colors)
        trees.save(Path("new_photos") / f"{i:03d}.jpg", image)
    looking, training, scoring, drawing = commands(text)
    assert run(looking, *TINY) == 0
    assert run(training, *TINY) == 0
    assert run(scoring, *SMALL) == 0
    assert run(drawing, "--device", "cpu") == 0
    ids = {row["id"] for row in classes}
    assert all(set(np.unique(Image.open(path))) <= ids for path in Path("results/yard/pred").iterdir())
    assert set(json.loads(Path("results/yard/metrics.json").read_text())["per_class"]) == {r["name"] for r in classes}
    assert len(list(Path("results/new_photos").iterdir())) == 10


def test_another_layout_is_one_file_and_one_line(tmp_path, monkeypatch):
    code, line = blocks(section("folder"), "python")[0], '"harbour": "datasets.harbour",'
    assert line in DOC
    (tmp_path / "harbour.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(datasets._REGISTRY, "harbour", "harbour")
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            trees.save(tmp_path / "shots" / split / f"{split}{i}.jpg", trees.noise(*SIZE))
            trees.save(tmp_path / "truth" / split / f"{split}{i}_mask.png", trees.gray(2, *SIZE))
    data = ["--dataset", "harbour", "--data_root", str(tmp_path)]
    assert doctor.main([*data, *TINY]) == 0
    assert train.main([*data, "--ckpt", str(tmp_path), "--exp", "run", *TINY]) == 0
    scored = [*data, "--snapshot", str(tmp_path / "run" / "best.pth"), "--save_dir", str(tmp_path / "out")]
    assert evaluation.main([*scored, *SMALL]) == 0


@pytest.mark.parametrize(
    ("name", "options", "code", "words"),
    [
        ("camvid", ["--coarse_boost_classes", "3"], 2, "camvid has no coarse labels"),
        ("cityscapes", ["--coarse_boost_classes", "3", "--class_uniform_pct", "0"], 2, "--class_uniform_pct above 0"),
        ("cityscapes", ["--coarse_boost_classes", "3,40"], 2, "train ids of cityscapes are 0 to 18"),
        ("cityscapes", ["--coarse_boost_classes", "3"], 3, "train_extra: no such folder"),
        ("cityscapes", ["--train_split", "train_extra"], 3, "train_extra: no such folder"),
        ("kitti", ["--cv", "5"], 2, "--cv 5"),
        ("kitti", [], 3, "semantic/000009_10.png"),
        ("idd", [], 3, "createLabels.py"),
    ],
)
def test_what_cannot_work_is_one_line(name, options, code, words, tmp_path, capsys):
    if name == "cityscapes":
        trees.make_cityscapes(tmp_path / "data", trees.CITIES)
        if code == 2:
            trees.make_coarse(tmp_path / "data", ["bamberg"])
    elif name == "camvid":
        trees.make_camvid(tmp_path / "data")
    elif name == "kitti":
        trees.make_kitti(tmp_path / "data")
        (tmp_path / "data" / "training" / "semantic" / "000009_10.png").unlink()
    else:
        trees.make_idd(tmp_path / "data")
        for path in (tmp_path / "data" / "gtFine").rglob("*.png"):
            path.unlink()
    data = ["--dataset", name, "--data_root", str(tmp_path / "data"), "--ckpt", str(tmp_path)]
    assert train.main([*data, *TINY, *options]) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert words in line
