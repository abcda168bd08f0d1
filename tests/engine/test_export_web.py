"""The web page that scripts/export.py writes: what stands in its file, and what is refused."""

import base64
import gzip
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from engine.export import web
from engine.export.web import check_fits, load_web_runtime, write_web
from scripts import export
from utils.errors import EnvironmentFault, OptionError

onnx = pytest.importorskip("onnx")
PALETTE = [[255, 0, 0], [0, 200, 0], [0, 0, 255]]
HEADER = {
    "config": {"arch": "toy"},
    "classes": {"dataset": "colours", "names": ["red", "</script><b>green", "blue"], "palette": PALETTE},
    "size": None,
    "precision": "float32",
}


def toy(path: Path, fill: int = 0, outputs: tuple[str, ...] = ("labels", "confidence")) -> Path:
    """A model whose label is the strongest channel and whose confidence is that channel's value."""
    make, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        make.make_node("Cast", ["image"], ["x"], to=kinds.FLOAT),
        make.make_node("ArgMax", ["x"], ["most"], axis=3, keepdims=0),
        make.make_node("Cast", ["most"], ["labels"], to=kinds.UINT8),
        make.make_node("ReduceMax", ["x", "channels"], ["value"], keepdims=0),
        make.make_node("Div", ["value", "white"], ["confidence"]),
    ]
    constants = [
        make.make_tensor("channels", kinds.INT64, [1], [3]),
        make.make_tensor("white", kinds.FLOAT, [], [255.0]),
        make.make_tensor("fill", kinds.UINT8, [fill], np.random.default_rng(0).bytes(fill), raw=True),
    ]
    sides, types = ["batch", "height", "width"], {"labels": kinds.UINT8, "confidence": kinds.FLOAT}
    graph = make.make_graph(
        nodes,
        "toy",
        [make.make_tensor_value_info("image", kinds.UINT8, [*sides, 3])],
        [make.make_tensor_value_info(name, types[name], sides) for name in outputs],
        constants,
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def package(tmp_path) -> Path:
    """Files in the form of the npm package's."""
    (tmp_path / "npm" / "dist").mkdir(parents=True)
    (tmp_path / "npm" / "package.json").write_text('{"version": "1.2.3"}')
    script = "const a = import.meta.url, b = 2;export{a as Tensor,b as env};\n//# sourceMappingURL=x.map\n"
    (tmp_path / "npm" / "dist" / "ort.wasm.bundle.min.mjs").write_text(script)
    (tmp_path / "npm" / "dist" / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm" + bytes(100))
    return tmp_path / "npm"


def embedded(page: Path, name: str) -> bytes:
    found = re.search(rf'<script type="application/octet-stream" id="{name}">([^<]*)<', page.read_text())
    return gzip.decompress(base64.b64decode(found[1]))


def test_page_holds_the_model_and_allows_its_own_scripts_only(package, tmp_path):
    source, page = toy(tmp_path / "toy.onnx"), tmp_path / "model.html"
    write_web(source, page, HEADER, load_web_runtime(str(package)))
    text = page.read_text()
    assert embedded(page, "model") == source.read_bytes() and embedded(page, "binary")[:4] == b"\0asm"
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    blocks = re.findall(r'<(?:script type="module"|style)>(.*?)</(?:script|style)>', text, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'" for block in blocks]
    assert rules == {
        "default-src": "'none'",
        "script-src": f"{hashes[1]} 'wasm-unsafe-eval'",
        "style-src": hashes[0],
        "worker-src": "blob:",
        "img-src": "blob: data:",
        "media-src": "blob: mediastream:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "const a = location.href, b = 2;const ort={Tensor:a,env:b};" in text
    assert "sourceMappingURL" not in text and "<b>green" not in text
    assert re.findall(r"https?://[^\s\"'<]*", text) == ["http://localhost:8000/"]  # said where the camera is refused
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe|a)\b|\b(src|href)=", outside)


def test_a_model_that_is_too_large_is_refused(package, tmp_path, monkeypatch):
    runtime = load_web_runtime(str(package))
    check_fits(7_400_000, "float32", runtime)
    with pytest.raises(OptionError, match="have 48 MB or more, and 30 are allowed; take --format web-int8"):
        check_fits(12_000_000, "float32", runtime)
    with pytest.raises(OptionError, match="have 34 MB or more, and 30 are allowed; take a smaller model"):
        check_fits(34_000_000, "int8", runtime)
    monkeypatch.setattr(web, "MOST_BYTES", 1_000_000)
    source = toy(tmp_path / "toy.onnx", fill=1_000_000)
    with pytest.raises(OptionError, match="have 1 MB or more, and 1 are allowed"):
        write_web(source, tmp_path / "model.html", HEADER, runtime)
    assert not (tmp_path / "model.html").exists()


def test_a_package_of_another_kind_is_refused(package):
    for script in ("const a = 1;", "/* </script */export{a as env};", "import.meta.resolve;export{a as env};"):
        (package / "dist" / "ort.wasm.bundle.min.mjs").write_text(script)
        with pytest.raises(EnvironmentFault, match=r"1\.2\.3 is built in another way; npm pack onnxruntime-web@"):
            load_web_runtime(str(package))


def test_without_the_package_the_command_is_said(tmp_path, capsys):
    argv = ["--format", "web", "--out", str(tmp_path / "out"), "--calibration", str(tmp_path)]
    assert export.main(argv) == 5
    assert "npm pack onnxruntime-web@1.30.0 && tar xf onnxruntime-web-1.30.0.tgz" in capsys.readouterr().err
    assert export.main([*argv, "--onnxruntime_web", str(tmp_path)]) == 5
    said = capsys.readouterr().err
    assert f"--onnxruntime_web {tmp_path}: not the package" in said and "npm pack" in said
    assert not (tmp_path / "out").exists()
