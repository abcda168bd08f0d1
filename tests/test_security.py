"""Nothing from outside is run: no code in files, no names as modules, no shell; and files are written in few places."""

import ast
import re

import pytest

from tests.test_house import PROJECT_FILES, ROOT

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
# they import optional packages, whose names stand where they are called, or modules that a table there names
IMPORTERS = {"utils/optional.py", "engine/inference/exported.py", "datasets/__init__.py"}
# what opens files for writing; all else goes through utils/files.py
WRITERS = {
    "utils/files.py",
    "datasets/cache.py",  # arrays mapped into memory, renamed when they are whole
    "engine/evaluation/journal.py",  # lines appended while an evaluation runs
    "engine/training/recorder.py",  # lines appended while a run goes on
    "scripts/studies/programs.py",  # the logs of the runs it starts
    "scripts/benchmarks/other_tree.py",  # alike
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
            short = ((alias.asname, alias.name) for alias in node.names)
            names |= {asname or name.split(".")[0]: name if asname else name.split(".")[0] for asname, name in short}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def called(node: ast.Call, names: dict[str, str]) -> str:
    """The full name of what is called."""
    head, dot, rest = ast.unparse(node.func).partition(".")
    return f"{names.get(head, head)}{dot}{rest}"


def unsafe(node: ast.AST, names: dict[str, str], path: str = "") -> str | None:
    """What is unsafe about a node, if anything."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        bad = [module for module in modules if module.split(".")[0] in UNSAFE_MODULES]
        return f"imports {bad[0]}" if bad else None
    if not isinstance(node, ast.Call):
        return None
    name, text = called(node, names), ast.unparse(node)
    if name == "ctypes.CDLL" and text.endswith("(None)"):  # the C library that runs anyway
        return None
    if name in UNSAFE or name.startswith(UNSAFE_PREFIXES) or ast.unparse(node.func).endswith(UNPACKERS):
        return f"{name}()"
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    first = node.args[0] if node.args else None
    lists = (ast.List, ast.Tuple, ast.Name, ast.BinOp, ast.Attribute)
    rules = {
        "a shell": given.get("shell", "False") != "False",
        "something else than a list": name in STARTERS and not isinstance(first, lists),
        "no weights_only=True": name == "torch.load" and given.get("weights_only") != "True",
        "no allow_pickle=False": name in ("numpy.load", "numpy.fromfile") and given.get("allow_pickle") != "False",
        "a name that isn't written there": name == "importlib.import_module"
        and not isinstance(first, ast.Constant)
        and path not in IMPORTERS,
        "any format, some of which start other programs": name == "PIL.Image.open" and "formats" not in given,
    }
    return next((f"{name} with {what}" for what, broken in rules.items() if broken), None)


def writes(node: ast.AST, names: dict[str, str]) -> str | None:
    """How a node writes a file, if it does; what is written into a file object of `write_atomically` aside."""
    if not isinstance(node, ast.Call):
        return None
    name, written = called(node, names), ast.unparse(node.func)
    to_file_object = any(isinstance(a, ast.Name) and a.id in ("file", "buffer") for a in node.args)
    if (name in WRITING and not to_file_object) or written.endswith((".write_text", ".write_bytes")):
        return name
    if written == "open" or written.endswith((".open", "os.fdopen")):
        values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        if any(re.fullmatch(r"[rwaxbt+]{1,4}", text) and set(text) & set("wax+") for text in texts):
            return f"{written} for writing"
    return None


def findings(code: str, look=unsafe, *more) -> list[str]:
    tree = ast.parse(code)
    names = full_names(tree)
    return [f"line {n.lineno}: {what}" for n in ast.walk(tree) if (what := look(n, names, *more))]


@pytest.mark.parametrize("path", PROJECT_FILES, ids=str)
def test_nothing_unsafe_and_files_are_written_in_few_places(path):
    code = (ROOT / path).read_text()
    assert not findings(code, unsafe, path.as_posix())
    if path.as_posix() not in WRITERS:
        assert not findings(code, writes), "use utils/files.py"


UNSAFE_CODE = """
eval('1')
exec(code)
compile(a, b, 'exec')
__import__(name)
import pickle
from dill import x
import os; os.system('ls')
from os import system; system('ls')
import os as o; o.popen('ls')
import os; os.execvp('ls', [])
import importlib; importlib.import_module(name)
from importlib import import_module; import_module(f'datasets.{name}')
import subprocess; subprocess.run('ls', shell=True)
import subprocess as s; s.run(f'ls {folder}')
from subprocess import run; run('ls')
import subprocess; subprocess.run(['ls'], shell=flag)
import torch; torch.load(path)
import torch; torch.load(path, weights_only=False)
from torch import load as read; read(path)
import torch; torch.hub.load(a, b)
import numpy as np; np.load(path)
import numpy as np; np.load(path, allow_pickle=True)
import yaml; yaml.load(text)
archive.extractall(folder)
import shutil; shutil.unpack_archive(a)
from PIL import Image; Image.open(path)
"""
SAFE_CODE = """
model.eval()
run(['ls'])
import torch; torch.load(path, weights_only=True)
import re; re.compile('a')
import ctypes; ctypes.CDLL(None)
import subprocess; subprocess.run(['git', 'log'])
import importlib; importlib.import_module('timm')
import numpy as np; np.load(path, allow_pickle=False)
from PIL import Image; Image.open(f, formats=A)
"""
WRITING_CODE = """
open(path, 'w')
path.open('ab')
open(path, mode='r+')
path.write_text(text)
import torch; torch.save(x, path)
open('w')
"""
READING_CODE = """
import torch; torch.save(x, file)
open(path)
open(path, 'rb')
Image.open(io.BytesIO(data))
"""


@pytest.mark.parametrize(
    ("look", "code", "found"),
    [
        *((unsafe, line, True) for line in UNSAFE_CODE.split("\n")[1:-1]),
        *((unsafe, line, False) for line in SAFE_CODE.split("\n")[1:-1]),
        *((writes, line, True) for line in WRITING_CODE.split("\n")[1:-1]),
        *((writes, line, False) for line in READING_CODE.split("\n")[1:-1]),
    ],
)
def test_code_is_recognised(look, code, found):
    assert bool(findings(code, look)) == found


@pytest.mark.parametrize(("file", "floors"), FLOORS.items())
def test_versions_with_known_holes_are_excluded(file, floors):
    asked = dict(re.findall(r"^([\w-]+)>=([\d.]+)", (ROOT / file).read_text().lower(), re.MULTILINE))
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    for package, floor in floors.items():
        assert package in asked, f"{file}: {package} needs a floor, {floor}"
        for version in (asked[package], pinned.get(package, asked[package])):
            assert tuple(map(int, version.split("."))) >= floor, f"{package} {version}"
