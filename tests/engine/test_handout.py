import json
import struct

import pytest
import torch

import network
from engine.checkpoint.digests import weights_sha256
from engine.checkpoint.loading import load_model, load_weights
from engine.checkpoint.snapshot import load_snapshot, save_snapshot
from engine.export.card import CITATIONS
from engine.export.safetensors import rebuild_whole, write_handout, write_release
from tests.processes import ROOT
from utils.errors import CheckpointError, OptionError

CLASSES = {"dataset": "folder", "names": ["a|b", "c", "d"], "palette": 3 * [[0, 0, 0]], "label_ids": [0, 1, 2]}
CLASSES["id_to_train"] = {"0": 0, "1": 1, "2": 2}
METRICS = {
    "dataset": "folder",
    "split": "val",
    "num_images": 4,
    "mean_iou": 0.5,
    "interval": [0.4, 0.6],
    "pixel_accuracy": 0.75,
    "protocol": {"flip": False},
    "snapshot_sha256": "00",
    "per_class": {"a|b": {"iou": 0.5}, "c": {"iou": None}},
}


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    monkeypatch.setitem(network.registry.RESNETS["tiny"], "width", 2)
    model = network.build_model("fenet_tiny", 3, channels=4, boundary=True)
    model.train()(torch.randn(2, 3, 64, 64))  # moves the norms' statistics
    content = {"config": model.config, "classes": CLASSES, "model": model.state_dict(), "average": None}
    save_snapshot(tmp_path / "best.pth", content)
    return tmp_path / "best.pth"


def test_a_handout_is_a_snapshot(snapshot, tmp_path):
    file = write_handout(load_snapshot(snapshot), snapshot, tmp_path / "out")
    ours, header, report = load_model(snapshot)
    again, header_again, report_again = load_model(file)
    assert header_again == header and report_again.loaded == report.loaded
    assert weights_sha256(again.state_dict()) == weights_sha256(ours.state_dict())


def test_averaged_weights_are_handed_out(snapshot, tmp_path):
    content = load_snapshot(snapshot)
    content["average"] = {name: value + 1 for name, value in content["model"].items()}
    file = write_handout(content, snapshot, tmp_path / "out")
    assert torch.equal(load_snapshot(file)["model"]["head.3.bias"], content["average"]["head.3.bias"])


@pytest.mark.parametrize(("before", "after"), [(None, None), (b"a|b", b"a|d"), (b"fenet_tiny", b"fenet_r18 ")])
def test_a_changed_byte_is_found(snapshot, tmp_path, before, after):
    """In a tensor (the last one), in the classes, in the model."""
    file = write_handout(load_snapshot(snapshot), snapshot, tmp_path / "out")
    data = file.read_bytes()
    file.write_bytes(data.replace(before, after) if before else data[:-1] + bytes([data[-1] ^ 1]))
    assert file.read_bytes() != data
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_snapshot(file)


def test_plain_data_without_its_digest_is_refused(snapshot, tmp_path):
    file = write_handout(load_snapshot(snapshot), snapshot, tmp_path / "out")
    file.write_bytes(file.read_bytes().replace(b"plain_sha256", b"other_sha256"))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_snapshot(file)


@pytest.mark.parametrize("metadata", ["no json", "[" * 100_000, "[1]", "{}"])
def test_odd_metadata_is_one_line(tmp_path, metadata):
    header = json.dumps({"__metadata__": {"fenet": metadata}}).encode()
    (tmp_path / "odd.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError):
        load_weights(torch.nn.Linear(1, 1), tmp_path / "odd.safetensors")


def test_the_card_says_what_is_known(snapshot, tmp_path):
    write_handout(load_snapshot(snapshot), snapshot, tmp_path / "out", {"lr": 0.01, "seed": 3}, METRICS)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "0.5000 (95 % interval over images 0.4000 to 0.6000)" in card
    assert "| c | n/a |" in card and "| a\\|b | 0.5000 |" in card and "| `--lr` | 0.01 |" in card
    assert weights_sha256(load_snapshot(snapshot)["model"]) in card
    assert json.loads((tmp_path / "out" / "config.json").read_text())["seed"] == 3
    write_handout(load_snapshot(snapshot), snapshot, tmp_path / "bare")
    assert "## Scores" not in (tmp_path / "bare" / "README.md").read_text()
    assert not (tmp_path / "bare" / "config.json").exists()


def test_the_card_has_what_a_reader_asks_for_and_no_folder_of_ours(snapshot, tmp_path):
    content = load_snapshot(snapshot) | {"score": {"mean_iou": 0.5, "epoch": 7}}
    content["config"]["pretrained"] = {"source": "/home/me/r18.pth", "sha256": "12ab", "loaded": 3}
    options = {"lr": 0.01, "pretrained": "/home/me/r18.pth", "data_root": "/home/me/data", "ckpt": "runs", "host": "pc"}
    options |= {"command": "python train.py --ckpt /home/me", "revision": "abc123"}
    file = write_handout(content, snapshot, tmp_path / "out", options, METRICS, license="cc-by-4.0")
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "cc-by-4.0"\n---' in card and "The weights: cc-by-4.0. The code: MIT." in card
    assert (
        "| revision that trained it | abc123 |" in card
        and "| epoch that they are from, the first being 0 | 7 |" in card
    )
    for entry in CITATIONS["fenet"]:
        assert entry in card and entry in (ROOT / "README.md").read_text()
    written = file.read_bytes() + b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.*"))
    assert b"/home" not in written and b"r18.pth" in written and str(tmp_path).encode() not in written
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {
        **{"lr": 0.01, "pretrained": "r18.pth", "revision": "abc123"}
    }
    write_handout(content, snapshot, tmp_path / "bare")
    assert "The weights: not stated" in (tmp_path / "bare" / "README.md").read_text()


def test_scores_on_a_card_are_not_lost(snapshot, tmp_path):
    content, out = load_snapshot(snapshot), tmp_path / "out"
    write_handout(content, snapshot, out, None, METRICS)
    card = (out / "README.md").read_text()
    write_handout(content, snapshot, out)
    assert (out / "README.md").read_text() == card
    content["average"] = {name: value + 1 for name, value in content["model"].items()}
    weights = (out / "model.safetensors").read_bytes()
    with pytest.raises(OptionError, match="--out .*scores of other weights.*--eval"):
        write_handout(content, snapshot, out)
    assert ((out / "README.md").read_text(), (out / "model.safetensors").read_bytes()) == (card, weights)
    write_handout(content, snapshot, out, None, METRICS | {"mean_iou": 0.25})
    assert "0.2500" in (out / "README.md").read_text()


def test_an_export_that_broke_off_is_made_anew(snapshot, tmp_path, monkeypatch):
    content, out = load_snapshot(snapshot), tmp_path / "out"

    def full(*_):
        raise OSError(28, "No space left on device")

    write_handout(content, snapshot, out, {"lr": 0.1}, METRICS)
    content["average"] = {name: value + 1 for name, value in content["model"].items()}
    with monkeypatch.context() as patched:
        patched.setattr("engine.export.safetensors.model_card", full)
        with pytest.raises(OSError, match="No space"):
            write_handout(content, snapshot, out, {"lr": 0.1}, METRICS | {"mean_iou": 0.25})
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]  # no card of others
    write_handout(content, snapshot, out, {"lr": 0.1}, METRICS | {"mean_iou": 0.25})
    assert "0.2500" in (out / "README.md").read_text()
    (out / "README.md").write_text("mine")
    with pytest.raises(OptionError, match="its README.md isn't an export's"):
        write_handout(content, snapshot, out, {"lr": 0.1})
    (out / "README.md").unlink()
    (out / "config.json").write_text('{"arguments": []}')  # a run's
    with pytest.raises(OptionError, match="its config.json isn't an export's"):
        write_handout(content, snapshot, out, {"lr": 0.1})


def test_what_is_no_handout_is_not_replaced(snapshot, tmp_path):
    content, run = load_snapshot(snapshot), tmp_path / "run"
    for name in ("config.json", "README.md", "model.safetensors"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
        with pytest.raises(OptionError, match=f"--out {run}: its {name} isn't an export's"):
            write_handout(content, snapshot, run, {"lr": 0.1})
        assert {path.name: path.read_text() for path in run.iterdir()} == {name: "mine"}
        (run / name).unlink()


def test_options_of_other_weights_do_not_stay(snapshot, tmp_path):
    content, out = load_snapshot(snapshot), tmp_path / "out"
    write_handout(content, snapshot, out, {"lr": 0.1})
    assert (out / "config.json").exists()
    write_handout(content, snapshot, out)
    assert not (out / "config.json").exists()
    write_handout(content, snapshot, out, {"lr": 0.1}, METRICS)
    write_handout(content, snapshot, out)  # the card stays, and what it is made of
    assert (out / "config.json").exists()


def test_release_keys_load_back(snapshot, tmp_path):
    source = rebuild_whole(load_snapshot(snapshot), snapshot)
    left_out = write_release(source, tmp_path / "release.pth")
    assert left_out and all(name.startswith("boundary_head.") for name in left_out)
    stored = torch.load(tmp_path / "release.pth", weights_only=True)["state_dict"]
    assert "module.layer0.0.0.weight" in stored and "module.conv_last.3.weight" in stored
    model = network.build_model("fenet_tiny", 3, channels=4)
    report = load_weights(model, tmp_path / "release.pth")
    assert report.complete and torch.equal(model.head[-1].bias, source.head[-1].bias)


def test_card_says_where_the_encoders_weights_are_from(snapshot, tmp_path):
    content = load_snapshot(snapshot)
    content["config"]["pretrained"] = {"source": "a file", "sha256": "12ab", "loaded": 3, "skipped": [], "random": []}
    file = write_handout(content, snapshot, tmp_path / "out")
    assert "12ab" in (file.parent / "README.md").read_text()
    assert load_model(file)[0].config["pretrained"]["source"] == "a file"
