"""One HTML file that runs an ONNX file in a browser, offline: the page, the model and ONNX Runtime Web."""

import base64
import gzip
import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

from utils.errors import EnvironmentFault, OptionError
from utils.files import write_atomically

MOST_BYTES = 30_000_000
TESTED = "1.30.0"  # version of onnxruntime-web
SCRIPT, BINARY = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
PARTS = Path(__file__).with_name("templates")
SOURCES = ("web.css", "web_worker.js", "web_model.js", "web_view.js", "web.js")
EXPORTS = re.compile(r"export\s*\{([^}]*)\};?\s*(//# sourceMappingURL=\S*\s*)?$")


@dataclass(frozen=True)
class WebRuntime:
    """The two files of the npm package onnxruntime-web that run models on WebAssembly.

    Attributes:
        script: For a classic worker (Chromium gives pages from disk no other); leaves the package's names in `ort`.
        binary: WebAssembly.
        version: Of the package.
    """

    script: str
    binary: bytes
    version: str


def load_web_runtime(folder: str | None) -> WebRuntime:
    """Read the npm package. Raises `EnvironmentFault` where it isn't in `folder`, with the command that gets it."""
    wrong = f"--onnxruntime_web {folder}:"
    get = f"npm pack onnxruntime-web@{TESTED} && tar xf onnxruntime-web-{TESTED}.tgz, then --onnxruntime_web package"
    if folder is None:
        raise EnvironmentFault(f"--format web: needs the npm package onnxruntime-web; {get}")
    root = Path(folder)
    try:
        version = json.loads((root / "package.json").read_text())["version"]
        text, binary = (root / SCRIPT).read_text(encoding="utf-8"), (root / BINARY).read_bytes()
    except (OSError, ValueError, KeyError) as error:
        raise EnvironmentFault(f"{wrong} not the package onnxruntime-web ({error}); {get}") from error
    text = text.replace("import.meta.url", "location.href").replace("\r\n", "\n")
    found = EXPORTS.search(text)
    if found is None or not binary.startswith(b"\0asm") or re.search(r"import\.meta|</script|<!--", text):
        raise EnvironmentFault(f"{wrong} version {version} is built in another way; {get}")
    names = ",".join(":".join(reversed(pair.split(" as "))) for pair in found[1].split(","))
    script = f"{text[: found.start()]}const ort={{{names}}};\n"
    return WebRuntime(script, binary, version)


def write_web(onnx_file: Path, path: Path, header: dict, runtime: WebRuntime) -> None:
    """Write the page; nothing in it asks for anything outside, and its content security policy allows nothing else.

    Args:
        onnx_file: Takes `image` (1,H,W,3) uint8, gives `labels` (1,H,W) and maybe `confidence` (1,H,W) from 0 to 1.
        path: The new file.
        header: `model_metadata`'s; `classes`, `config`, `size` and `precision` are shown.
        runtime: What runs it.

    Raises:
        OptionError: The file would be larger than `MOST_BYTES`.
    """
    classes, arch = header["classes"], header["config"].get("arch", "model")
    shown = {key: classes[key] for key in ("names", "palette")} | {"size": header["size"]}
    style, worker, *page = ((PARTS / name).read_text(encoding="utf-8") for name in SOURCES)
    script = "".join(page)
    parts = {
        "policy": _policy(style, script),
        "title": html.escape(f"{arch} · {classes['dataset']}"),
        "note": f"{header['precision']}, ONNX Runtime Web {html.escape(runtime.version)}",
        "style": style,
        "about": json.dumps(shown).replace("<", "\\u003c"),
        "model": _packed(onnx_file.read_bytes()),
        "binary": _packed(runtime.binary),
        "worker": runtime.script + worker,
        "script": script,
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], (PARTS / "web.html").read_text(encoding="utf-8"))
    content = text.encode()
    _check_size(len(content), header["precision"])
    write_atomically(path, lambda file: file.write(content))


def check_fits(weights: int, precision: str, runtime: WebRuntime) -> None:
    """Raises `OptionError` in time if a model of so many weights surely needs more than `MOST_BYTES`."""
    least = weights * (1 if precision == "int8" else 4)  # base64 adds a third, gzip saves less
    _check_size(least + len(_packed(runtime.binary)), precision)


def _check_size(size: int, precision: str) -> None:
    if size > MOST_BYTES:
        smaller = "" if precision == "int8" else "--format web-int8, or "
        raise OptionError(
            f"the page would have {size / 1e6:.0f} MB or more, and {MOST_BYTES / 1e6:.0f} are allowed; take {smaller}a"
            " smaller model"
        )


def _policy(style: str, script: str) -> str:
    """Only these texts are used, and a worker that the script makes and that compiles WebAssembly."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    style, script = (f"'sha256-{code}'" for code in hashes)
    return (
        f"default-src 'none'; script-src {script} 'wasm-unsafe-eval'; style-src {style}; worker-src blob:;"
        " img-src blob: data:; media-src blob: mediastream:; base-uri 'none'; form-action 'none'"
    )


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
