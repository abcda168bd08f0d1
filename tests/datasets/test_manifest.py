"""Manifests: what they find, and what they refuse."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.checks.manifest import read_manifest, verify_manifest, write_manifest
from utils.errors import DataError

names = st.from_regex(r"[a-zA-Zäß ()#%'0-9]([a-z .\-_é日]{0,8}[a-z])?", fullmatch=True)
trees = st.dictionaries(
    st.tuples(st.sampled_from(["x", "Ü b", "x/y"]), names), st.binary(max_size=50), min_size=1, max_size=4
)


@settings(max_examples=20, deadline=None)
@given(trees, st.data())
def test_what_is_written_is_verified_and_every_change_is_named(tmp_path_factory, tree, data):
    root = tmp_path_factory.mktemp("root")
    files = {f"{folder}/{name}.f": content for (folder, name), content in tree.items()}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    manifest = root / "manifest.jsonl"
    assert write_manifest(root, manifest) == len(files)
    assert set(read_manifest(manifest)) == set(files)
    assert not verify_manifest(root, manifest) and verify_manifest(root, manifest).checked == len(files)

    ordered = sorted(files)
    changed, missing = data.draw(st.sampled_from(ordered)), data.draw(st.sampled_from(ordered))
    content = files[changed]
    flipped = bytes([content[0] ^ 1]) + content[1:] if content else b"x"  # most keep their size
    (root / changed).write_bytes(flipped)
    (root / missing).unlink()
    (root / "new").write_bytes(b"")
    found = verify_manifest(root, manifest)
    assert found.changed == ([changed] if changed != missing else [])
    assert found.missing == [missing] and found.extra == ["new"] and found


def make(root):
    (root / "a").mkdir()
    (root / "a" / "1.png").write_bytes(b"123")
    (root / "a" / ".hidden").write_bytes(b"")
    return root / "manifest.jsonl"


@pytest.mark.parametrize("name", ["../secret", "a/../../b", "/etc/passwd", "", ".", "a/\0", "C:\\x", ".."])
def test_hostile_entries_are_refused(tmp_path, name):
    path = make(tmp_path)
    write_manifest(tmp_path, path)
    header, row = map(json.loads, path.read_text().splitlines())
    path.write_text("\n".join(json.dumps(line) for line in (header, row | {"path": name})))
    with pytest.raises(DataError, match="not a file below the root"):
        verify_manifest(tmp_path, path)


@pytest.mark.parametrize("spoil", [
    lambda text: text[:-10], lambda text: text.splitlines()[0], lambda text: "", lambda text: "[]",
    lambda text: text + text.splitlines()[1] + "\n", lambda text: text.replace('"version": 1', '"version": 2'),
])  # fmt: skip
def test_a_damaged_manifest_is_refused(tmp_path, spoil):
    path = make(tmp_path)
    write_manifest(tmp_path, path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(DataError, match="--manifest write"):
        verify_manifest(tmp_path, path)


def test_no_manifest_and_no_files(tmp_path):
    with pytest.raises(DataError, match="--manifest write"):
        verify_manifest(tmp_path, tmp_path / "none")
    with pytest.raises(DataError, match="--data_root"):
        write_manifest(tmp_path, tmp_path / "m")
    with pytest.raises(DataError, match="--data_root"):
        write_manifest(tmp_path / "nowhere", tmp_path / "m")


def test_odd_names_links_and_folders(tmp_path):
    path = make(tmp_path)
    odd = os.fsdecode(b"caf\xe9.png")  # no UTF-8
    (tmp_path / odd).write_bytes(b"x")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert write_manifest(tmp_path, path) == 3
    assert set(read_manifest(path)) == {odd, "a/1.png", "linked/1.png"}
    assert not verify_manifest(tmp_path, path)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    with pytest.raises(DataError, match="link back"):
        verify_manifest(tmp_path, path)
