import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import network
import train
from engine.checkpoint.archive import write_archive
from engine.checkpoint.digests import seal, weights_sha256
from engine.checkpoint.loading import load_model, load_weights
from engine.checkpoint.snapshot import adopt, load_snapshot, newest_snapshot, previous_path, save_snapshot
from tests.conftest import THREE_CLASSES
from utils.errors import CheckpointError, EnvironmentFault, OptionError

TRAINING = {"optimizer": {"state": {}, "param_groups": []}, "state": {"step": 3}, "settings": {"lr": "0.1"}}
SMALL = {"model": {"w": torch.arange(64.0), "n": torch.tensor(3)}}


@pytest.fixture
def tiny(monkeypatch):
    """Builds the smallest model, with random weights and statistics."""
    monkeypatch.setitem(network.registry.RESNETS["tiny"], "width", 2)

    def build(num_classes=3, **options):
        model = network.build_model("fenet_tiny", num_classes, channels=4, **options)
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else torch.tensor(7))
        return model

    return build


def snapshot_of(model, **more):
    return {"config": model.config, "classes": THREE_CLASSES, "model": model.state_dict(), "average": None, **more}


def digest(model):
    return weights_sha256(model.state_dict())


def rewrite(path, change):
    """Put changed content into a whole archive, under a digest of its own."""
    content = change(torch.load(path, weights_only=True))
    with open(path, "w+b") as file:
        write_archive(content, file)


# models


def test_round_trip_rebuilds_the_model(tiny, tmp_path):
    model, other, path = tiny(), tiny(), tmp_path / "a.pth"
    save_snapshot(path, snapshot_of(model))
    report = load_weights(other, path)
    assert report.complete and len(report.loaded) == len(model.state_dict())
    assert digest(other) == digest(model)
    rebuilt, metadata, report = load_model(path)
    assert metadata["config"]["arch"] == "fenet_tiny" and not rebuilt.training
    assert report.unused and all(name.startswith("aux_heads.") for name in report.unused)
    assert torch.equal(rebuilt.head[-1].weight, model.head[-1].weight)


def test_averaged_weights_come_first(tiny, tmp_path):
    model, average = tiny(), tiny()
    save_snapshot(tmp_path / "a.pth", snapshot_of(model) | {"average": average.state_dict()})
    load_weights(model, tmp_path / "a.pth")
    assert digest(model) == digest(average)


@pytest.mark.parametrize("form", ["bare", "state_dict", "module", "safetensors"])
def test_release_keys_load(tiny, tmp_path, form):
    model, other, without_heads = tiny(), tiny(), tiny(aux=False)
    ours, path = model.state_dict(), tmp_path / "release.pth"
    state = {theirs: ours[key].clone() for theirs, key in network.release_key_map(model).items()}
    if form == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    else:  # a release may hold its score as a NumPy float
        scores = {"mean_iu": np.float64(0.8), "iu": np.float32(1)}
        torch.save({"state_dict": state, **scores} if form == "state_dict" else state, path)
    assert load_weights(other, path).complete and digest(other) == digest(model)
    assert len(load_weights(without_heads, path).unused) == len(ours) - len(without_heads.state_dict())


def test_strict_refuses_and_leaves_the_model_alone(tiny, tmp_path):
    path, model = tmp_path / "part.pth", tiny()
    before = digest(model)
    torch.save({"head.3.bias": torch.ones(3), "odd": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors loaded.*missing.*unexpected"):
        load_weights(model, path)
    assert digest(model) == before
    report = load_weights(model, path, partial=True)
    assert report.loaded == ["head.3.bias"] and report.unexpected == ["odd"]
    assert model.state_dict()["head.3.bias"].tolist() == [1, 1, 1]


def test_other_architecture_and_bare_weights_are_refused(tiny, tmp_path):
    torch.save(tiny().state_dict(), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="mismatched"):
        load_weights(tiny(4), tmp_path / "bare.pth")
    with pytest.raises(OptionError, match="--arch and --dataset"):
        load_model(tmp_path / "bare.pth")


def test_naming_the_architecture_keeps_the_snapshots_options(tiny, tmp_path):
    save_snapshot(tmp_path / "a.pth", snapshot_of(tiny(filter_padding="reflect", boundary=True)))
    for arch in (None, "fenet_tiny"):
        rebuilt, _, _ = load_model(tmp_path / "a.pth", arch, THREE_CLASSES["names"])
        assert rebuilt.fem_d[0].filter.padding == "reflect" and rebuilt.boundary_head is None
    with pytest.raises(CheckpointError, match="mismatched"):
        load_model(tmp_path / "a.pth", "sfnet_r18", THREE_CLASSES["names"])
    with pytest.raises(CheckpointError, match="--dataset"):
        load_model(tmp_path / "a.pth", None, ["b", "a", "c"])


# damage


def test_every_flipped_byte_in_a_tensor_is_found(tmp_path):
    """By the tensor's own digest: that of the file is right here."""
    path = tmp_path / "a.pth"
    for offset in (0, 100, 255):
        save_snapshot(path, SMALL)
        content = torch.load(path, weights_only=True)
        content["model"]["w"].view(torch.uint8)[offset] ^= 4
        rewrite(path, lambda _, content=content: content)
        with pytest.raises(CheckpointError, match="tensor /model/w fails its SHA-256"):
            load_snapshot(path)


@pytest.mark.parametrize("change", [{"n": torch.tensor(4)}, {"m": torch.tensor(4)}])
def test_changed_and_added_tensors_are_found(tmp_path, change):
    save_snapshot(tmp_path / "a.pth", SMALL)
    rewrite(tmp_path / "a.pth", lambda content: {**content, "model": content["model"] | change})
    with pytest.raises(CheckpointError, match="tensor"):
        load_snapshot(tmp_path / "a.pth")


def test_every_flipped_bit_and_zeroed_block_is_found(tmp_path):
    path = tmp_path / "a.pth"
    save_snapshot(path, SMALL | {"training": TRAINING})
    data, random = path.read_bytes(), np.random.default_rng(0)
    places = [*range(40), *range(len(data) - 160, len(data)), *random.integers(0, len(data), 60).tolist()]
    for i, place in enumerate(places):
        damaged = bytearray(data)
        if i % 3:
            damaged[place] ^= 1 << (i % 8)
        else:
            damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
        path.write_bytes(damaged)
        if damaged != data:
            with pytest.raises(CheckpointError):
                load_snapshot(path)
    path.write_bytes(data)
    assert load_snapshot(path)["training"]["state"]["step"] == 3


def test_the_files_digest_is_checked_before_anything_is_unpickled(tmp_path, monkeypatch):
    save_snapshot(tmp_path / "a.pth", SMALL)
    data = bytearray((tmp_path / "a.pth").read_bytes())
    data[data.index(b"sha256")] ^= 1  # a name in the pickle
    (tmp_path / "a.pth").write_bytes(data)
    monkeypatch.delattr(torch, "load")
    with pytest.raises(CheckpointError, match="its bytes fail their SHA-256"):
        load_snapshot(tmp_path / "a.pth")


def test_a_snapshot_packed_anew_without_its_digest_is_refused(tmp_path):
    save_snapshot(tmp_path / "a.pth", SMALL | {"score": {"mean_iou": 0.5}})
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    torch.save(content | {"score": {"mean_iou": 1.0}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="its end, with the SHA-256 of its bytes, is missing"):
        load_snapshot(tmp_path / "b.pth")


def laughs():
    content = [torch.zeros(1)]
    for _ in range(30):
        content = [content, content]
    return content


def test_archives_that_would_fill_the_memory_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(1_000_000))
    torch.save({"w": torch.zeros(1).expand(10**12)}, tmp_path / "expanded.pth")
    torch.save({"w": laughs()}, tmp_path / "laughs.pth")
    for name, reason in (("bomb", "larger than the file"), ("expanded", "larger than what"), ("laughs", "more than")):
        with pytest.raises(CheckpointError, match=reason):
            load_weights(torch.nn.Linear(1, 1), tmp_path / f"{name}.pth")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_unreadable_files(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="a.pth"):
        load_weights(torch.nn.Linear(1, 1), tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["none.pth", "."])
def test_missing_and_folder(tmp_path, name):
    with pytest.raises(CheckpointError, match="--snapshot"):
        load_snapshot(tmp_path / name)


class Bomb:
    def __reduce__(self):
        return (open, ("bomb-went-off", "w"))


@pytest.mark.parametrize("flag", ["--resume", "--pretrained", "--snapshot"])
def test_a_folder_is_refused_in_the_name_of_the_flag(flag, tmp_path, capfd):
    argv = ["--dataset", "synthetic", "--arch", "fenet_tiny", "--ckpt", str(tmp_path / "out"), flag, str(tmp_path)]
    assert train.main(argv) == 4
    assert f"is a folder, not a snapshot; name a file in it with {flag}\n" in capfd.readouterr().err


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    with open(tmp_path / "sealed.pth", "w+b") as file:  # a digest that is right is no reason to trust a file
        write_archive(seal({"format": 1, "model": Bomb()}), file)
    for name in ("zip.pth", "plain.pth", "sealed.pth"):
        with pytest.raises(CheckpointError):
            load_snapshot(tmp_path / name)
    assert not (tmp_path / "bomb-went-off").exists()


# writing


def test_falls_back_to_the_previous_snapshot(tmp_path):
    warnings = []
    for step in (1, 2):
        save_snapshot(tmp_path / "last.pth", {"model": {"w": torch.tensor(step)}}, keep_previous=True)
    assert newest_snapshot(tmp_path, warnings.append)[1]["model"]["w"] == 2
    (tmp_path / "last.pth").write_bytes(b"half")
    path, snapshot = newest_snapshot(tmp_path, warnings.append)
    assert path == previous_path(tmp_path / "last.pth")
    assert snapshot["model"]["w"] == 1 and len(warnings) == 1
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="--resume never"):
        newest_snapshot(tmp_path, warnings.append)
    assert newest_snapshot(tmp_path / "nothing", warnings.append) is None


def test_a_link_is_adopted_as_the_file_it_leads_to(tmp_path):
    (tmp_path / "run").mkdir()
    save_snapshot(tmp_path / "run" / "last.pth", {"model": {"w": torch.tensor(1)}})
    (tmp_path / "latest.pth").symlink_to("run/last.pth")
    (tmp_path / "other").mkdir()
    adopt(tmp_path / "latest.pth", tmp_path / "other" / "last.pth")
    assert not (tmp_path / "other" / "last.pth").is_symlink()
    assert load_snapshot(tmp_path / "other" / "last.pth")["model"]["w"] == 1


def full_disk(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "stand_in", "said"),
    [
        (torch, "save", full_disk, "last.pth"),
        (shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1), "0 MiB are free"),
    ],
)
def test_a_failed_write_keeps_what_was_there(tmp_path, monkeypatch, owner, name, stand_in, said):
    path = tmp_path / "last.pth"
    save_snapshot(path, {"model": {"w": torch.tensor(1)}})
    monkeypatch.setattr(owner, name, stand_in)
    with pytest.raises(EnvironmentFault, match=said):
        save_snapshot(path, {"model": {"w": torch.tensor(2)}}, keep_previous=True)
    assert load_snapshot(path)["model"]["w"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pth"]
