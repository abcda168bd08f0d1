"""A loss, a model, an optimizer and a data set are each one file and one line; the programs find them."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.conftest import make_scenes, train_args
from tests.processes import ROOT

FILES = {
    "loss/focal.py": '''
"""Focal loss."""

import torch.nn.functional as F
from torch import Tensor, nn

from loss.pixelwise import at_label_size


class FocalLoss(nn.Module):
    """Mean of (1 - p)^gamma x cross entropy."""

    def __init__(self, ignore_label: int = 255, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}; give 0 or more")
        self.ignore_label, self.gamma = ignore_label, gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        value = F.cross_entropy(
            at_label_size(logits, labels), labels, ignore_index=self.ignore_label, reduction="none"
        )
        return ((1 - value.neg().exp()) ** self.gamma * value).mean()
''',
    "network/small.py": '''
"""A model of one convolution on our smallest encoder."""

from torch import Tensor, nn

from network.encoders.resnet import BasicBlock, DeepStemResNet


class SmallNet(nn.Module):
    """(N,3,H,W) -> dict with `logits` at stride 4."""

    aux_heads = ()

    def __init__(self, *, num_classes: int, dropout: float = 0.25, side: int = 3) -> None:
        super().__init__()
        self.encoder = DeepStemResNet(block=BasicBlock, layers=(1, 1, 1, 1), width=8)
        conv = nn.Conv2d(self.encoder.channels[0], num_classes, side, padding=side // 2)
        self.head = nn.Sequential(nn.Dropout2d(dropout), conv)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.encoder(x)
        return {"logits": self.head(features[0] + 0 * sum(f.mean() for f in features))}
''',
    "optimizer/adagrad.py": '''
"""Adagrad."""

import torch


def adagrad(groups: list[dict], lr: float, lr_decay: float = 0.0) -> torch.optim.Optimizer:
    """Fused Adagrad."""
    return torch.optim.Adagrad(groups, lr=lr, lr_decay=lr_decay, fused=True)
''',
    "datasets/shots.py": '''
"""A folder under another name."""

from datasets import folder


def build_split(root, split, cv=0):
    """As the data set `folder`."""
    return folder.build_split(root, split, cv)
''',
}
# file: what the line follows, the line, its import
LINES = {
    "loss/registry.py": (
        '    "ce": CrossEntropy,\n',
        '    "focal": FocalLoss,\n',
        "from loss.focal import FocalLoss\n",
    ),
    "network/registry.py": ("    **ON_TIMM,\n", '    "small": SmallNet,\n', "from network.small import SmallNet\n"),
    "optimizer/registry.py": ('"sgd": sgd, ', '"adagrad": adagrad, ', "from optimizer.adagrad import adagrad\n"),
    "datasets/__init__.py": ('"folder": "datasets.folder",\n', '    "shots": "datasets.shots",\n', ""),
}
PROGRAM = """
import contextlib, io, json, sys

from utils.signals import prepare_process

prepare_process()
import eval, train
from scripts import doctor

results = []
for name, argv in json.loads(sys.argv[1]):
    out, main = io.StringIO(), {"train": train.main, "eval": eval.main, "doctor": doctor.main}[name]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
    results.append((code, out.getvalue()))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Exit code and output of the programs, run in a copy of the repository with one more of each."""
    base = tmp_path_factory.mktemp("one_line")
    copy, data, out = base / "copy", make_scenes(base / "data", 9), base / "out"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "runs", "logs", "shared"))
    for name, text in FILES.items():
        (copy / name).write_text(text.lstrip())
    for name, (before, line, imported) in LINES.items():
        text = (copy / name).read_text()
        assert text.count(before) == 1
        text = text.replace(before, before + line).replace("\nfrom ", f"\n{imported}from ", 1)
        (copy / name).write_text(text)
    ours = train_args(data, out, "--arch", "small", "--dataset", "shots", "--loss", "focal", "--optimizer", "adagrad")
    ours = [word for i, word in enumerate(ours) if "--channels" not in (word, ours[i - 1])]
    args = ["--loss_args", "gamma=1.5", "--model_args", "side=5", "--optimizer_args", "lr_decay=0.01"]
    scored = ["--snapshot", str(out / "run" / "best.pth"), "--data_root", str(data), "--save_dir", str(base / "eval")]
    runs = {
        "train": ("train", [*ours, *args, "--max_epoch", "1"]),
        "eval": ("eval", [*scored, "--num_workers", "0", "--device", "cpu"]),
        "doctor": ("doctor", [*ours, *args, "--json", str(base / "doctor.json")]),
        "help": ("train", ["--help"]),
        "short": ("train", [*ours, "--adagrad", "--exp", "short", "--max_steps", "1"]),
        "wrong loss": ("train", [*ours, "--loss_args", "gamma=-1"]),
        "wrong model": ("train", [*ours, "--model_args", "sides=5"]),
        "wrong optimizer": ("train", [*ours, "--optimizer_args", "lr_decay=-1"]),
        "not its option": ("train", [*ours, "--channels", "8"]),
    }
    argument = json.dumps(list(runs.values()))
    done = subprocess.run([sys.executable, "-c", PROGRAM, argument], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "run" / "config.json").read_text())
    return dict(zip(runs, json.loads(done.stdout), strict=True)) | {"config": config}


@pytest.mark.parametrize("program", ["train", "eval", "doctor", "help", "short"])
def test_programs_take_them(results, program):
    code, output = results[program]
    assert code == 0, output


def test_help_shows_them_with_their_options(results):
    shown = " ".join(results["help"][1].split())
    assert "focal: gamma=2.0" in shown
    assert "small: side=3" in shown
    assert "adagrad: lr_decay=0.0" in shown
    assert "--adagrad" in shown


def test_the_run_says_what_was_built(results):
    config = results["config"]
    assert (config["arch"], config["loss"], config["optimizer"]) == ("small", "focal", "adagrad")
    assert config["dataset"] == "shots"
    assert config["dropout"] == 0.25  # the model's own, not the flag's


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("wrong loss", "--loss_args gamma=-1: gamma is -1.0; give 0 or more (--loss focal; its options: gamma=2.0)"),
        ("wrong model", "--model_args sides=5: --arch small has no such option"),
        ("wrong optimizer", "--optimizer adagrad --optimizer_args lr_decay=-1: "),
        ("not its option", "--channels: small has no such option"),
    ],
)
def test_mistakes_are_refused_by_name(results, run, words):
    code, output = results[run]
    assert code == 2
    assert words in output
