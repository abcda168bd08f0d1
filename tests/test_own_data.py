"""docs/own-data.md, walked in small: its classes.json, its commands and its Python, on scenes that are drawn here."""

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import demo_folder
import train
from datasets.synthetic.scene import draw_scene, instance_to_label
from datasets.synthetic.split import stream
from scripts import doctor

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "own-data.md").read_text()
CLASSES = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
PARTS = {"road": [7], "pavement": [8], "building or wall": [11, 12, 13], "pole or sign": [17, 19, 20]}
PARTS |= {"plant": [21, 22], "sky": [23], "person": [24, 25], "car": [26]}  # Cityscapes' label ids; the rest is black
TINY = ["--crop_size", "32,48", "--class_uniform_tile", "32", "--bs_mult", "2", "--device", "cpu"]
PROGRAMS = {
    "scripts/doctor.py": (doctor.main, [*TINY, "--no-rehearsal"]),
    "train.py": (train.main, [*TINY, "--max_epoch", "1", "--no-report"]),
    "demo_folder.py": (demo_folder.main, ["--device", "cpu"]),
}


def make_yard(root: Path, counts: dict[str, int]) -> None:
    """Photos with masks in colours beside them, the first of each split turned by the camera."""
    table = np.zeros((256, 3), np.uint8)
    for row in CLASSES["classes"]:
        table[PARTS[row["name"]]] = row["color"]
    number = 0
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for i in range(count):
            image, _, instances = draw_scene(stream(split, 7), i, 64, 96)
            photo, exif, number = Image.fromarray(image), Image.Exif(), number + 1
            if i == 0:
                photo, exif[274] = photo.transpose(Image.Transpose.ROTATE_90), 6
            photo.save(root / split / f"IMG_{number:04d}.jpg", exif=exif)
            Image.fromarray(table[instance_to_label(instances)]).save(root / split / f"IMG_{number:04d}_mask.png")
    (root / "classes.json").write_text(json.dumps(CLASSES))


@pytest.fixture
def yard(tmp_path, monkeypatch) -> Path:
    """A place where the page's paths are, with its data set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").symlink_to(ROOT / "weights")
    make_yard(tmp_path / "data" / "yard", {"train": 4, "val": 2})
    return tmp_path / "data" / "yard"


def walked(page: str) -> list[list[str]]:
    """The commands up to the sections on other labels."""
    blocks = re.findall(r"```bash\n(.*?)```", page.split("## Polygons")[0], re.DOTALL)
    return [shlex.split(line) for line in "".join(blocks).replace("\\\n", " ").splitlines()]


def test_the_page_works(yard, capsys):
    video = cv2.VideoWriter("data/drive.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 12, (96, 64))
    for i in range(2):
        video.write(draw_scene(stream("test", 7), i, 64, 96)[0])
    video.release()
    done = []
    for python, program, *argv in walked(PAGE):
        main, small = PROGRAMS[program]
        assert python == "python" and main([*argv, *small]) == 0, argv
        done.append((program, capsys.readouterr().out))
    said = dict(done)
    assert [program for program, _ in done] == ["scripts/doctor.py", "train.py", "train.py", "demo_folder.py"]
    assert "1 photo with an EXIF orientation turned upright" in said["scripts/doctor.py"]
    for line in re.findall(r"^(?:starting from|its heads: ).*$", PAGE, re.M):
        assert line in said["train.py"]
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = code.replace('"PATH_OF_THE_CLONE"', repr(str(ROOT))).replace("IMG_0123", "IMG_0005")
    exec(compile(code, "docs/own-data.md", "exec"), {})
    assert Image.open("overlay.png").size == (96, 64)  # upright
    assert (Path("results/drive") / "overlay_drive.mp4").stat().st_size


def test_a_colour_that_is_not_in_the_list_is_told_as_one(yard, capsys):
    (yard / "classes.json").write_text(json.dumps({key: CLASSES[key] for key in CLASSES if key != "ignore"}))
    argv = ["--dataset", "folder", "--data_root", str(yard)]
    assert doctor.main([*argv, *TINY, "--no-rehearsal"]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert 'list the colour under "ignore" in classes.json' in said and "one channel of ids" not in said
    (yard / "classes.json").unlink()
    assert doctor.main([*argv, *TINY, "--no-rehearsal"]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert 'classes.json, which may name other folders ("image_folder"' in said
    assert said.count("no such folder") == 1 and "1 error, 0 warnings" in said
