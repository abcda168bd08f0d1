import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import network
from engine.checkpoint.digests import seal, weights_sha256
from engine.checkpoint.loading import load_model, load_weights
from engine.checkpoint.snapshot import load_snapshot, newest_snapshot, previous_path, save_snapshot
from utils.errors import CheckpointError, EnvironmentFault, OptionError

CLASSES = {
    "dataset": "folder",
    "names": ["a", "b", "c"],
    "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]],
    "label_ids": [0, 1, 2],
    "id_to_train": {"0": 0, "1": 1, "2": 2},
}
TRAINING = {"optimizer": {"state": {}, "param_groups": []}, "state": {"step": 3}, "settings": {"lr": "0.1"}}


def tiny(**options):
    return network.build_model("fenet_tiny", 3, channels=8, **options)


def snapshot_of(model, **more):
    return {"config": model.config, "classes": CLASSES, "model": model.state_dict(), "average": None, **more}


def randomised(model):
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else torch.tensor(7))
    return model


def test_round_trip_rebuilds_the_model(tmp_path):
    model = randomised(tiny())
    save_snapshot(tmp_path / "a.pth", snapshot_of(model))
    other = tiny()
    report = load_weights(other, tmp_path / "a.pth")
    assert report.complete and len(report.loaded) == len(model.state_dict())
    assert weights_sha256(other.state_dict()) == weights_sha256(model.state_dict())
    rebuilt, header, report = load_model(tmp_path / "a.pth", network.build_model)
    assert header["config"]["arch"] == "fenet_tiny" and not rebuilt.training
    assert report.unused and all(name.startswith("aux_heads.") for name in report.unused)
    torch.testing.assert_close(rebuilt.state_dict()["head.3.weight"], model.state_dict()["head.3.weight"])


def test_averaged_weights_come_first(tmp_path):
    model, average = randomised(tiny()), randomised(tiny())
    save_snapshot(tmp_path / "a.pth", snapshot_of(model) | {"average": average.state_dict()})
    other = tiny()
    load_weights(other, tmp_path / "a.pth")
    assert weights_sha256(other.state_dict()) == weights_sha256(average.state_dict())


@pytest.mark.parametrize("form", ["bare", "state_dict", "module", "safetensors"])
def test_release_keys_load(tmp_path, form):
    model = randomised(tiny())
    ours = model.state_dict()
    state = {theirs: ours[key].clone() for theirs, key in network.release_key_map(model).items()}
    path = tmp_path / "release.pth"
    if form == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    if form == "safetensors":
        path = tmp_path / "release.safetensors"
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "state_dict" else state, path)
    other = tiny()
    assert load_weights(other, path).complete
    assert weights_sha256(other.state_dict()) == weights_sha256(ours)
    without_heads = tiny(aux=False)
    assert len(load_weights(without_heads, path).unused) == len(ours) - len(without_heads.state_dict())


def test_strict_refuses_and_leaves_the_model_alone(tmp_path):
    torch.save({"head.3.bias": torch.ones(3), "odd": torch.ones(1)}, tmp_path / "part.pth")
    model = tiny()
    before = weights_sha256(model.state_dict())
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors loaded.*missing.*unexpected"):
        load_weights(model, tmp_path / "part.pth")
    assert weights_sha256(model.state_dict()) == before
    report = load_weights(model, tmp_path / "part.pth", partial=True)
    assert report.loaded == ["head.3.bias"] and report.unexpected == ["odd"]
    assert model.state_dict()["head.3.bias"].tolist() == [1, 1, 1]


def test_other_architecture_is_refused(tmp_path):
    save_snapshot(tmp_path / "a.pth", snapshot_of(tiny()))
    with pytest.raises(CheckpointError, match="mismatched"):
        load_weights(network.build_model("fenet_tiny", 4, channels=8), tmp_path / "a.pth")


def test_bare_weights_need_arch_and_classes(tmp_path):
    torch.save(tiny().state_dict(), tmp_path / "bare.pth")
    with pytest.raises(OptionError, match="--arch and --dataset"):
        load_model(tmp_path / "bare.pth", network.build_model)


def test_every_flipped_byte_in_a_tensor_is_found(tmp_path):
    path = tmp_path / "a.pth"  # written by hand: only the tensors' own digests protect it
    content = seal({"format": 1, "model": {"w": torch.arange(64.0)}, "average": None})
    del content["plain_sha256"]
    torch.save(content, path)
    with zipfile.ZipFile(path) as archive:
        entry = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
    data = bytearray(path.read_bytes())
    start = data.find(torch.arange(64.0).numpy().tobytes(), entry.header_offset)
    for offset in (0, 100, 255):
        damaged = bytearray(data)
        damaged[start + offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="tensor /model/w fails its SHA-256"):
            load_snapshot(path)
    path.write_bytes(data)
    assert load_snapshot(path)["model"]["w"][5] == 5


def test_every_flipped_bit_and_zeroed_block_is_found(tmp_path):
    path = tmp_path / "a.pth"
    save_snapshot(path, snapshot_of(tiny(), training=TRAINING))
    data = path.read_bytes()
    random = np.random.default_rng(0)
    places = [*range(40), *range(len(data) - 160, len(data)), *random.integers(0, len(data), 60).tolist()]
    for i, place in enumerate(places):
        damaged = bytearray(data)
        if i % 3:
            damaged[place] ^= 1 << (i % 8)
        else:
            damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
        if damaged == data:
            continue
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_snapshot(path)
    path.write_bytes(data)
    assert load_snapshot(path)["training"]["state"]["step"] == 3


@pytest.mark.parametrize("change", [{"score": {"mean_iou": 1.0}}, {"config": {"arch": "fenet_r18"}}])
def test_changed_plain_data_is_found(tmp_path, change):
    save_snapshot(tmp_path / "a.pth", snapshot_of(tiny()))
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    torch.save({**content, **change}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="plain data fails its SHA-256"):
        load_snapshot(tmp_path / "b.pth")


def test_archives_that_would_fill_the_memory_are_refused(tmp_path):
    save_snapshot(tmp_path / "a.pth", snapshot_of(tiny()))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(CheckpointError, match="larger than the file"):
        load_weights(tiny(), tmp_path / "bomb.pth")
    torch.save({"w": torch.zeros(1).expand(10**12)}, tmp_path / "expanded.pth")
    with pytest.raises(CheckpointError, match="larger than what is stored"):
        load_weights(tiny(), tmp_path / "expanded.pth")
    laughs: list = [torch.zeros(1)]
    for _ in range(40):
        laughs = [laughs, laughs]
    torch.save({"w": laughs}, tmp_path / "laughs.pth")
    with pytest.raises(CheckpointError, match="more than"):
        load_weights(tiny(), tmp_path / "laughs.pth")


def test_a_disk_that_is_too_full_is_said_before_writing(tmp_path, monkeypatch):
    save_snapshot(tmp_path / "last.pth", {"model": {"w": torch.tensor(1)}})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(EnvironmentFault, match="0 MiB are free"):
        save_snapshot(tmp_path / "last.pth", {"model": {"w": torch.tensor(2)}}, keep_previous=True)
    assert load_snapshot(tmp_path / "last.pth")["model"]["w"] == 1


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_unreadable_files(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="a.pth"):
        load_weights(tiny(), tmp_path / "a.pth")


def test_missing_and_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(CheckpointError, match="--snapshot"):
            load_weights(tiny(), path)


class Bomb:
    def __reduce__(self):
        return (open, ("bomb-went-off", "w"))


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(CheckpointError):
            load_weights(tiny(), tmp_path / name)
    assert not (tmp_path / "bomb-went-off").exists()


def test_falls_back_to_the_previous_snapshot(tmp_path):
    warnings = []
    for step in (1, 2):
        save_snapshot(tmp_path / "last.pth", {"model": {"w": torch.tensor(step)}}, keep_previous=True)
    assert newest_snapshot(tmp_path, warnings.append)[1]["model"]["w"] == 2
    (tmp_path / "last.pth").write_bytes(b"half")
    path, snapshot = newest_snapshot(tmp_path, warnings.append)
    assert path == previous_path(tmp_path / "last.pth") and snapshot["model"]["w"] == 1 and len(warnings) == 1
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="--resume never"):
        newest_snapshot(tmp_path, warnings.append)
    assert newest_snapshot(tmp_path / "nothing", warnings.append) is None


def test_failed_write_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "last.pth"
    save_snapshot(path, {"model": {"w": torch.tensor(1)}})

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(EnvironmentFault, match="last.pth"):
        save_snapshot(path, {"model": {"w": torch.tensor(2)}}, keep_previous=True)
    assert load_snapshot(path)["model"]["w"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pth"]


def test_naming_the_architecture_keeps_the_snapshots_options(tmp_path):
    model = tiny(filter_padding="reflect", boundary=True)
    names = CLASSES["names"]
    save_snapshot(tmp_path / "a.pth", snapshot_of(model))
    for arch in (None, "fenet_tiny"):
        rebuilt, _, _ = load_model(tmp_path / "a.pth", network.build_model, arch, names)
        assert rebuilt.fem_d[0].filter.padding == "reflect" and rebuilt.boundary_head is None
    with pytest.raises(CheckpointError, match="--dataset"):
        load_model(tmp_path / "a.pth", network.build_model, None, ["b", "a", "c"])


def test_a_release_file_may_hold_a_numpy_score(tmp_path):
    np = pytest.importorskip("numpy")
    torch.save({"state_dict": tiny().state_dict(), "mean_iu": np.float64(0.8), "iu": np.float32(1)}, tmp_path / "a.pth")
    assert load_weights(tiny(), tmp_path / "a.pth").complete
