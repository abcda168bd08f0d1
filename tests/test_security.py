"""Nothing from outside is run: no code in files, no names as modules, no shell; and files are written in few places."""

import ast
import re

import pytest

from tests.test_house import PROJECT_FILES, ROOT, parse

# calls that run or import what they are given, or unpickle it
UNSAFE = {
    *("eval", "exec", "compile", "__import__", "runpy.run_path", "runpy.run_module", "code.interact", "os.system"),
    *("os.popen", "os.startfile", "pty.spawn", "commands.getoutput", "subprocess.getoutput", "webbrowser.open"),
    *("subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "tempfile.mktemp", "ctypes.CDLL"),
    *("torch.hub.load", "torch.ops.load_library", "torch.utils.cpp_extension.load", "torch.package.PackageImporter"),
    *("torch.jit.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "shutil.unpack_archive", "shelve.open"),
    *("xml.etree.ElementTree.parse", "xml.etree.ElementTree.fromstring", "numpy.lib.npyio.load"),
}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "joblib", "shelve", "telnetlib", "ftplib"}
UNSAFE_PREFIXES = ("os.exec", "os.spawn", "os.posix_spawn", "pickle.", "dill.", "cloudpickle.", "marshal.", "joblib.")
STARTERS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
UNPACKERS = (".extractall", ".extract")
# they import optional packages, whose names stand where they are called
IMPORTERS = {"utils/optional.py", "engine/inference/exported.py"}
# what opens files for writing; all else goes through utils/files.py
WRITERS = {
    "utils/files.py",
    "datasets/cache.py",  # arrays mapped into memory, renamed when they are whole
    "engine/evaluation/journal.py",  # lines appended while an evaluation runs
    "engine/training/recorder.py",  # lines appended while a run goes on
    "tests/campaigns/chaos.py",
    "tests/campaigns/supervised.py",  # the log of the runs it starts
}
WRITING = {"torch.save", "numpy.save", "numpy.savez", "numpy.savetxt", "cv2.imwrite", "json.dump"}
FLOORS = {  # least version without a hole that is known to matter here
    "requirements.txt": {
        "torch": (2, 10),  # before, torch.load with weights_only=True could be made to run code
        "pillow": (12, 3),  # before, buffers overflowed in decoders
        "safetensors": (0, 8),
        "opencv-python-headless": (4, 8, 1, 78),  # before, the libwebp in it overflowed (CVE-2023-4863)
        "tqdm": (4, 66, 3),  # before, its command line evaluated options (CVE-2024-34062)
    },
}


def full_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: `import os as o` -> o: os, `from os import system` -> system: os.system."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def unsafe(node: ast.AST, names: dict[str, str], path: str = "") -> str | None:
    """What is unsafe about a node, if anything."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        bad = [module for module in modules if module.split(".")[0] in UNSAFE_MODULES]
        return f"imports {bad[0]}" if bad else None
    if not isinstance(node, ast.Call):
        return None
    written = ast.unparse(node.func)
    head, _, rest = written.partition(".")
    name = f"{names.get(head, head)}{'.' if rest else ''}{rest}"
    if name == "ctypes.CDLL" and ast.unparse(node).endswith("(None)"):  # the C library that runs anyway
        return None
    if name in UNSAFE or name.startswith(UNSAFE_PREFIXES) or written.endswith(UNPACKERS):
        return f"{name}()"
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    first = node.args[0] if node.args else None
    if given.get("shell", "False") != "False":
        return f"{name}(shell=...)"
    if name in STARTERS and not isinstance(first, (ast.List, ast.Tuple, ast.Name, ast.BinOp, ast.Attribute)):
        return f"{name} of something else than a list"
    if name == "torch.load" and given.get("weights_only") != "True":
        return "torch.load() without weights_only=True"
    if name in ("numpy.load", "numpy.fromfile") and given.get("allow_pickle") != "False":
        return f"{name}() without allow_pickle=False"
    if name == "importlib.import_module" and not isinstance(first, ast.Constant) and path not in IMPORTERS:
        return "import of a name that isn't written there"
    if name == "PIL.Image.open" and "formats" not in given:
        return "PIL.Image.open() of any format, some of which start other programs"
    return None


def writes(node: ast.AST, names: dict[str, str]) -> str | None:
    """How a node writes a file, if it does; what is written into a file object of `write_atomically` aside."""
    if not isinstance(node, ast.Call):
        return None
    written = ast.unparse(node.func)
    head, _, rest = written.partition(".")
    name = f"{names.get(head, head)}{'.' if rest else ''}{rest}"
    to_file_object = any(isinstance(a, ast.Name) and a.id in ("file", "buffer") for a in node.args)
    if name in WRITING and not to_file_object:
        return name
    if written.endswith((".write_text", ".write_bytes")):
        return written
    if written == "open" or written.endswith((".open", "os.fdopen")):
        mode = next((k.value for k in node.keywords if k.arg == "mode"), None)
        texts = [a.value for a in [*node.args, mode] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if any(re.fullmatch(r"[rwaxbt+]{1,4}", text) and set(text) & set("wax+") for text in texts):
            return f"{written} for writing"
    return None


@pytest.mark.parametrize("path", PROJECT_FILES, ids=str)
def test_nothing_unsafe(path):
    tree = parse(path)
    names = full_names(tree)
    found = [f"line {node.lineno}: {what}" for node in ast.walk(tree) if (what := unsafe(node, names, path.as_posix()))]
    assert not found, f"{path} {found}"


@pytest.mark.parametrize("path", [path for path in PROJECT_FILES if path.as_posix() not in WRITERS], ids=str)
def test_files_are_written_in_few_places(path):
    tree = parse(path)
    names = full_names(tree)
    found = [f"line {node.lineno}: {what}" for node in ast.walk(tree) if (what := writes(node, names))]
    assert not found, f"{path} {found}; use utils/files.py"


def findings(code: str) -> list[str]:
    tree = ast.parse(code)
    names = full_names(tree)
    return [what for node in ast.walk(tree) if (what := unsafe(node, names))]


@pytest.mark.parametrize(
    "code",
    [
        *(
            "eval('1')",
            "exec(code)",
            "compile(a, b, 'exec')",
            "__import__(name)",
            "import pickle",
            "from dill import x",
        ),
        *("import os\nos.system('ls')", "from os import system\nsystem('ls')", "import os as o\no.popen('ls')"),
        *("import os\nos.execvp('ls', [])", "import importlib\nimportlib.import_module(name)"),
        *("from importlib import import_module\nimport_module(f'datasets.{name}')",),
        *("import subprocess\nsubprocess.run('ls', shell=True)", "import subprocess as s\ns.run(f'ls {folder}')"),
        *("from subprocess import run\nrun('ls')", "import subprocess\nsubprocess.run(['ls'], shell=flag)"),
        *("import torch\ntorch.load(path)", "import torch\ntorch.load(path, weights_only=False)"),
        *("from torch import load as read\nread(path)", "import torch\ntorch.hub.load(a, b)"),
        *("import numpy as np\nnp.load(path)", "import numpy as np\nnp.load(path, allow_pickle=True)"),
        *("import yaml\nyaml.load(text)", "archive.extractall(folder)", "import shutil\nshutil.unpack_archive(a)"),
        *("from PIL import Image\nImage.open(path)",),
    ],
)
def test_unsafe_code_is_recognised(code):
    assert findings(code)


@pytest.mark.parametrize(
    "code",
    [
        *(
            "model.eval()",
            "run(['ls'])",
            "import torch\ntorch.load(path, weights_only=True)",
            "import re\nre.compile('a')",
            "import ctypes\nctypes.CDLL(None)",
        ),
        *("import subprocess\nsubprocess.run(['git', 'log'])", "import importlib\nimportlib.import_module('timm')"),
        *("import numpy as np\nnp.load(path, allow_pickle=False)", "from PIL import Image\nImage.open(f, formats=A)"),
    ],
)
def test_safe_code_is_left_alone(code):
    assert not findings(code)


@pytest.mark.parametrize(
    ("code", "number"),
    [
        *(("open(path, 'w')", 1), ("path.open('ab')", 1), ("open(path, mode='r+')", 1), ("path.write_text(text)", 1)),
        *(("import torch\ntorch.save(x, path)", 1), ("import torch\ntorch.save(x, file)", 0), ("open(path)", 0)),
        *(("open(path, 'rb')", 0), ("open('w')", 1), ("Image.open(io.BytesIO(data))", 0)),
    ],
)
def test_writing_is_recognised(code, number):
    tree = ast.parse(code)
    assert len([node for node in ast.walk(tree) if writes(node, full_names(tree))]) == number


@pytest.mark.parametrize(("file", "floors"), FLOORS.items())
def test_versions_with_known_holes_are_excluded(file, floors):
    asked = dict(re.findall(r"^([\w-]+)>=([\d.]+)", (ROOT / file).read_text().lower(), re.MULTILINE))
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    for package, floor in floors.items():
        assert package in asked, f"{file}: {package} needs a floor, {floor}"
        for version in (asked[package], pinned.get(package, asked[package])):
            assert tuple(map(int, version.split("."))) >= floor, f"{package} {version}"
