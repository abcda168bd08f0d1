import copy
import math

import pytest
import torch

import network
from engine.checkpoint.fields import check_fields, check_optimizer, with_options
from engine.checkpoint.loading import load_model
from engine.checkpoint.run_state import RunState
from engine.checkpoint.snapshot import load_snapshot, save_snapshot
from scripts import export
from utils.errors import CheckpointError

REMOVED = object()


@pytest.fixture
def snapshot(monkeypatch):
    monkeypatch.setitem(network.registry.RESNETS["tiny"], "width", 2)
    model = network.build_model("fenet_tiny", 2, channels=4)
    optimizer = torch.optim.Adam(model.parameters())
    training = {
        "optimizer": optimizer.state_dict(),
        "scaler": {},
        "average": {"updates": 3, "shadow": model.state_dict()},
        "state": vars(RunState(step=3, loss_sums={"main": 0.5})),
        "settings": {"lr": "0.1"},
        "schedule": {"max_epoch": 2, "steps_per_epoch": 4},
    }
    data = {"dataset": "folder", "split": "a", "digest": "0", "keys": torch.zeros(3, 2, dtype=torch.int64)}
    training["data"] = {"train": data, "val": dict(data)}
    classes = {"dataset": "folder", "names": ["a", "b"], "palette": [[0, 0, 0], [1, 2, 3]], "label_ids": [0, 7]}
    classes["id_to_train"] = {"0": 0, "7": 1, "255": 255}
    header = {"config": model.config, "classes": classes, "score": {"mean_iou": 0.5}}
    header["trained_on"] = {"dataset": "folder", "split": "a", "cv": 0, "limit_images": None, "images": "0"}
    return {**header, "model": model.state_dict(), "average": None, "training": training}


def change(content, place, value):
    """A copy of nested `content` with another value, or none, at a place such as config/arch."""
    content = copy.deepcopy(content)
    *folders, last = place.split("/")
    inner = content
    for name in folders:
        inner = inner[name]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return content


def test_what_train_writes_is_taken(snapshot, tmp_path):
    save_snapshot(tmp_path / "a.pth", snapshot)
    assert load_snapshot(tmp_path / "a.pth")["training"]["state"]["step"] == 3
    load_model(tmp_path / "a.pth")
    check_fields({"model": {"w": torch.zeros(1)}}, "weights and nothing else")
    for place in ("state/skipped_in_row", "schedule", "data"):
        check_fields(change(snapshot, f"training/{place}", REMOVED), "of an earlier version")


@pytest.mark.parametrize("number", [torch.zeros(2), "1", None, 2, 1.0])
def test_of_another_format(number, snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.checkpoint.snapshot.FORMAT", number)
    save_snapshot(tmp_path / "a.pth", snapshot)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="a.pth: of format"):
        load_snapshot(tmp_path / "a.pth")


def test_a_release_is_whole_or_not_written(snapshot, tmp_path, capsys):
    save_snapshot(tmp_path / "a.pth", change(snapshot, "model/encoder.conv1.0.weight", REMOVED))
    assert export.main(["--snapshot", str(tmp_path / "a.pth"), "--out", str(tmp_path), "--format", "release"]) == 4
    assert "encoder.conv1.0.weight" in capsys.readouterr().err and not (tmp_path / "release.pth").exists()


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("model", [REMOVED, None, {}, [], {"w": 1}, {1: torch.zeros(1)}, torch.zeros(2)]),
        ("average", [{}, 5, {"w": None}, torch.zeros(2)]),
        ("config", [REMOVED, None, "fenet_tiny", {}]),
        ("config/arch", [REMOVED, None, 5, ["a"]]),
        ("config/num_classes", [REMOVED, None, "2", 2.0, True, 0, -1, 3, 2**70]),
        ("config/options", [REMOVED, None, [], {1: 2}, {"mean": [0.0] * 3}, {"std": [1.0] * 3}]),
        (
            "config/options",
            [{"mean": mean, "std": [1, 1, 1]} for mean in ("abc", [0.5] * 2, ["a"] * 3, [math.nan] * 3)],
        ),
        ("config/options", [{"mean": [0.5] * 3, "std": [1.0, 0.0, 1.0]}]),
        ("classes", [REMOVED, None, [], {}]),
        ("classes/dataset", [REMOVED, None, 5]),
        ("classes/names", [REMOVED, [], "ab", ["a"], ["a", 5], ["a"] * 300]),
        ("classes/palette", [REMOVED, [], [[0, 0, 0]], [[0, 0], [0, 0]], [[0, 0, 256]] * 2, [[0, 0, 0.5]] * 2]),
        ("classes/label_ids", [REMOVED, [0], [0, -1], [0, 256], ["0", "1"]]),
        ("classes/id_to_train", [REMOVED, [], {"a": 0}, {"-1": 0}, {"256": 0}, {"9" * 5000: 0}, {"0": "0"}]),
        ("score", [None, [], 0.5]),
        ("trained_on", [None, [], {}, {"dataset": "folder", "split": "a"}]),
        ("trained_on/cv", [REMOVED, -1, "0", 0.5]),
        ("trained_on/limit_images", [0, "3", 1.5]),
        ("trained_on/base_size", [0, "3", 1.5]),
        ("training", [None, [], {}]),
        ("training/optimizer", [REMOVED, None, {}, {"state": {}, "param_groups": 5}, {"state": 1, "param_groups": []}]),
        ("training/scaler", [None, 5]),
        ("training/average", [{}, 5, {"updates": -1, "shadow": {}}, {"updates": 1.5, "shadow": {"w": torch.zeros(1)}}]),
        ("training/settings", [REMOVED, None, []]),
        ("training/schedule", [None, 5, {}, {"max_epoch": 0, "steps_per_epoch": 1}, {"max_epoch": 1}]),
        ("training/data", [None, 5, {}]),
        ("training/data/val", [REMOVED, None, {}]),
        ("training/data/train/digest", [REMOVED, None, 5]),
        ("training/data/train/keys", [REMOVED, [[1, 2]], torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64)]),
        ("training/state", [REMOVED, None, 5, {"steps": 3}]),
        ("training/state/step", [None, "3", 3.5, -1, 2**70, True]),
        ("training/state/best_epoch", [-2, "a"]),
        ("training/state/loss_processes", [0, "1"]),
        ("training/state/best_iou", [None, "a", math.nan, math.inf, 10**400]),
        ("training/state/loss_sums", [None, [], {"main": "a"}, {"main": math.nan}, {1: 1.0}]),
    ],
)
def test_other_types_and_values_are_refused(snapshot, tmp_path, place, values):
    for value in values:
        with pytest.raises(CheckpointError, match="a.pth: not a snapshot for this version"):
            check_fields(change(snapshot, place, value), "a.pth")
    save_snapshot(tmp_path / "a.pth", change(snapshot, place, values[0]))
    with pytest.raises(CheckpointError, match="a.pth"):
        load_snapshot(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "options",
    [*({"channels": value} for value in (10**6, 10**30, "8")), {"unknown": 1}, {"filter_kernel": 4}, {"dropout": {}}],
)
def test_a_model_that_cannot_be_or_would_fill_the_memory(snapshot, tmp_path, options):
    save_snapshot(tmp_path / "a.pth", change(snapshot, "config/options", options))
    with pytest.raises(CheckpointError, match="a.pth: describes"):
        load_model(tmp_path / "a.pth")


def test_an_architecture_that_is_no_model(snapshot, tmp_path):
    save_snapshot(tmp_path / "a.pth", change(snapshot, "config/arch", "os.system"))
    with pytest.raises(CheckpointError, match="a.pth: describes no model.*os.system"):
        load_model(tmp_path / "a.pth")


@pytest.mark.parametrize("value", ["a", 5, torch.zeros(3), torch.zeros(2, 2)])
def test_moments_that_do_not_fit(value):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    check_optimizer(optimizer, "a.pth")
    optimizer.state[model.bias]["momentum_buffer"] = value
    with pytest.raises(CheckpointError, match="a.pth: its optimizer's momentum_buffer"):
        check_optimizer(optimizer, "a.pth")
    optimizer.state.clear()
    optimizer.param_groups[0]["lr"] = "0.1"
    with pytest.raises(CheckpointError, match="lr is not a number"):
        check_optimizer(optimizer, "a.pth")


def test_a_state_is_loaded_as_this_run_s_options_ask():
    weight = torch.nn.Parameter(torch.ones(3))
    plain, fused = (torch.optim.Adam([weight], fused=fused) for fused in (None, True))
    weight.grad = torch.ones(3)
    plain.step()
    state = plain.state_dict()
    assert state["param_groups"][0]["fused"] is None
    fused.load_state_dict(with_options(state, [{"fused": True, "weight_decay": 0.5}]))
    (group,) = fused.param_groups
    assert group["fused"] is True and group["weight_decay"] == 0.5 and fused.state[weight]["step"] == 1
    fused.step()
    assert fused.state[weight]["step"] == 2
    assert with_options(state, []) is state
