"""Fine-tuning: a snapshot as the start of a run with other classes; weights as other trainers wrap them."""

import argparse
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import network
import train
from datasets.synthetic.split import SyntheticSplit
from engine.checkpoint import load_snapshot, load_weights
from engine.checkpoint.finetune import ClassMatch, class_axes, start_from
from engine.checkpoint.snapshot import save_snapshot
from tests.conftest import CLASSES, train_args
from utils.errors import CheckpointError

NAMES = [row["name"] for row in CLASSES]


def rename(data: Path, names: list[str]) -> None:
    """Give a `make_scenes` folder these class names; ids stay."""
    rows = [{"name": name, "id": i} for i, name in enumerate(names)]
    ignored = [255, *range(len(names), len(CLASSES))]
    (data / "classes.json").write_text(json.dumps({"classes": rows, "ignore": ignored}))


def start(trained, scenes, out, *more, arch=()):
    """Train no step from the snapshot; the weights that the run starts from."""
    argv = train_args(scenes, out, "--max_steps", "1", "--lr", "1e-30", "--weight_decay", "0", "--fix_bn", *more)
    for flag in ("--arch", "--channels"):
        at = argv.index(flag)
        del argv[at : at + 2]
    assert train.main([*argv, "--snapshot", str(trained.best), *arch]) == 0
    return load_snapshot(out / "run" / "last.pth")


def assert_encoders_equal(new: dict, old: dict) -> None:
    names = [name for name in old["model"] if name.startswith("encoder.")]
    assert names
    for name in names:
        torch.testing.assert_close(new["model"][name], old["model"][name])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["tree", "car", "road", "sky"], "4 of 4 classes matched by name"),
        (["Road", "tree"], "2 of 2 classes matched by name; left out: sky, car"),
        (["kerb", "car", "pole", "sky", "tree", "road"], "4 of 6 classes matched by name; new: kerb, pole"),
    ],
    ids=["order", "subset", "superset"],
)
def test_classes_are_matched_by_name(trained, scenes, tmp_path, capsys, names, said):
    rename(scenes, names)
    listed = json.loads((scenes / "classes.json").read_text())
    (scenes / "classes.json").write_text(
        json.dumps(listed | {"ignore": sorted({255, *range(4)} - set(range(len(names))))})
    )
    new = start(trained, scenes, tmp_path / "out")
    assert f"its heads: {said}\n" in capsys.readouterr().out
    old = load_snapshot(trained.best)
    assert new["config"]["arch"] == "fenet_tiny" and new["config"]["options"]["channels"] == 16  # not named here
    for name, axis in {"head.3.weight": 0, "head.3.bias": 0}.items():
        for i, own in enumerate(names):
            if own.lower() in NAMES:
                theirs = old["model"][name].select(axis, NAMES.index(own.lower()))
                torch.testing.assert_close(new["model"][name].select(axis, i), theirs)
    assert_encoders_equal(new, old)


def test_options_that_are_given_win(trained, scenes, tmp_path, capsys):
    new = start(trained, scenes, tmp_path / "out", arch=["--channels", "8", "--no-fem_d"])
    assert new["config"]["options"]["channels"] == 8 and new["config"]["options"]["fem_d"] is False
    said = capsys.readouterr().out.splitlines()
    (warning,) = [line for line in said if "tensors loaded" in line]
    assert "mismatched" in warning


def test_a_run_resumes_without_the_file_that_it_started_from(trained, scenes, tmp_path):
    for name in ("base.pth", "weights.pth"):
        shutil.copy(trained.best, tmp_path / name)
    argv = train_args(scenes, tmp_path / "out")
    for flag in ("--arch", "--channels"):
        at = argv.index(flag)
        del argv[at : at + 2]
    argv += ["--snapshot", str(tmp_path / "base.pth"), "--pretrained", str(tmp_path / "weights.pth")]
    assert train.main([*argv, "--max_steps", "1"]) == 0
    (tmp_path / "base.pth").unlink()
    (tmp_path / "weights.pth").unlink()
    assert train.main([*argv, "--max_steps", "2"]) == 0
    assert load_snapshot(tmp_path / "out" / "run" / "last.pth")["training"]["state"]["step"] == 2


def test_the_encoder_alone(trained, scenes, tmp_path):
    argv = train_args(scenes, tmp_path / "out", "--max_steps", "1", "--lr", "1e-30", "--fix_bn", "--weight_decay", "0")
    assert train.main([*argv, "--pretrained", str(trained.best)]) == 0
    new, old = load_snapshot(tmp_path / "out/run/last.pth"), load_snapshot(trained.best)
    assert_encoders_equal(new, old)
    assert not torch.equal(new["model"]["head.3.weight"], old["model"]["head.3.weight"])


@pytest.mark.parametrize("arch", sorted(network.list_models()))
def test_every_model_has_its_heads_found(arch):
    with torch.device("meta"):
        model = network.build_model(arch, 7)
    axes = class_axes(model)
    shapes = {name: model.state_dict()[name].shape for name in axes}
    assert all(shapes[name][axis] == 7 for name, axis in axes.items())
    assert len(axes) == 2 * (1 + len(model.aux_heads))  # weight and bias of each


def test_no_class_in_common_starts_the_head_anew(trained):
    torch.manual_seed(1)
    model = network.build_model("fenet_tiny", 2, **load_snapshot(trained.best)["config"]["options"])
    fresh = model.state_dict()["head.3.weight"].clone()
    report, match = start_from(model, str(trained.best), ["x", "y"])
    assert match.rows == () and match.new == ("x", "y") and match.left == tuple(NAMES)
    assert "head.3.weight" in report.missing and torch.equal(model.state_dict()["head.3.weight"], fresh)


def test_a_snapshot_without_class_names_is_refused_before_anything_is_written(trained, scenes, tmp_path, capsys):
    content = load_snapshot(trained.best)
    del content["classes"]["names"]
    save_snapshot(tmp_path / "nameless.pth", content)
    code = train.main([*train_args(scenes, tmp_path / "out"), "--snapshot", str(tmp_path / "nameless.pth")])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 4 and line.startswith(f"error: {tmp_path}/nameless.pth: ") and "classes/names" in line
    assert not (tmp_path / "out").exists()


def test_bare_weights_for_other_classes_are_no_other_architecture(tmp_path):
    torch.save(network.build_model("fenet_tiny", 4, channels=16).state_dict(), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="mismatched .*for other classes or channels: --partial"):
        load_weights(network.build_model("fenet_tiny", 5, channels=16), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="missing.*of another architecture: name the right --arch"):
        load_weights(network.build_model("sfnet_r18", 4), tmp_path / "bare.pth")


def test_names_are_compared_as_people_spell_them():
    match = ClassMatch.by_name(["traffic_light", "Traffic-Sign"], SyntheticSplit("val", 0, 1, 32, 64).classes.names)
    assert len(match.rows) == 2 and not match.new


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}, "hyper_parameters": {"lr": 0.1}},
        lambda state: {"model": {f"module._orig_mod.{k}": v for k, v in state.items()}, "args": options()},
        lambda state: {"epoch": 3, "model_state_dict": state},
        lambda state: {"model": {"state_dict": state}},
    ],
    ids=["lightning", "namespace", "epoch", "twice"],
)
def test_weights_in_other_trainers_wrappers(tmp_path, wrap):
    state = network.build_model("fenet_tiny", 4, channels=16).state_dict()
    torch.save(wrap(state), tmp_path / "theirs.pth")
    model = network.build_model("fenet_tiny", 4, channels=16)
    assert load_weights(model, tmp_path / "theirs.pth").complete
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def options() -> argparse.Namespace:
    return argparse.Namespace(lr=0.1, folder=Path("out"), model=argparse.Namespace(depth=18))


def test_what_lies_beside_the_weights_is_never_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    state = network.build_model("fenet_tiny", 4, channels=16).state_dict()
    torch.save({"state_dict": state, "args": argparse.Namespace(x=Evil())}, tmp_path / "evil.pth")
    with pytest.raises(Exception, match="never executed"):
        load_weights(network.build_model("fenet_tiny", 4, channels=16), tmp_path / "evil.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "config", [{"arch": "fenet_r9000"}, {"options": {"channels": 4096}}, {"options": {"channels": "x"}}], ids=str
)
def test_a_file_that_describes_no_model_that_fits_it(trained, scenes, tmp_path, capfd, config):
    snapshot = load_snapshot(trained.best)
    save_snapshot(tmp_path / "odd.pth", {**snapshot, "config": {**snapshot["config"], **config}})
    argv = [word for word in train_args(scenes, tmp_path / "out") if word not in ("--channels", "16")]
    argv = [*argv, "--snapshot", str(tmp_path / "odd.pth"), "--resume", "never"]
    assert train.main(argv) == 4 and "odd.pth: describes" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
