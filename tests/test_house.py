"""The rules of the house: who may import whom, what entry points are, and what the README names."""

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import config

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("network", "datasets", "transforms", "loss", "optimizer", "engine", "utils")
ENTRY_POINTS = ("train", "eval", "demo_folder")
PROJECT = {*ROOMS, *ENTRY_POINTS, "config", "scripts", "tests"}


def sources(*places: str) -> list[Path]:
    """Python files of rooms or single modules, as paths from the root."""
    files = [path for place in places for path in (ROOT / place).rglob("*.py")]
    files += [path for place in places if (path := ROOT / f"{place}.py").is_file()]
    return sorted(path.relative_to(ROOT) for path in files)


PROJECT_FILES = sources(*(PROJECT - {"tests"}))


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), str(path))


def imported(nodes: Iterator[ast.AST] | list[ast.AST]) -> set[str]:
    """Top-level names of the modules that import statements among `nodes` name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: all but what stands in functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from at_import(child)


def test_the_files_are_found():
    assert Path("config.py") in PROJECT_FILES
    assert Path("network/registry.py") in PROJECT_FILES


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_itself_utils_and_libraries(room):
    assert sources(room)
    for path in sources(room):
        others = imported(ast.walk(parse(path))) & PROJECT
        assert others <= {room, "utils"}, f"{path} imports {sorted(others - {room, 'utils'})}"


@pytest.mark.parametrize("path", PROJECT_FILES, ids=str)
def test_no_relative_imports(path):
    # they would hide a room's name from the rule above
    assert not [node for node in ast.walk(parse(path)) if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("path", sources(*PROJECT), ids=str)
def test_apex_is_never_needed(path):
    assert "apex" not in imported(at_import(parse(path)))


@pytest.mark.parametrize("parse_options", [config.parse_train, config.parse_eval, config.parse_demo])
def test_help(parse_options, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_options(["--help"])
    assert stop.value.code == 0
    assert "--snapshot" in capsys.readouterr().out


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_entry_point_is_a_function_of_argv(entry_point):
    body = parse(Path(f"{entry_point}.py")).body
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    assert "main" in functions
    assert [argument.arg for argument in functions["main"].args.args] == ["argv"]


def test_readme_names_every_training_option():
    named = set(re.findall(r"--(\w+)", (ROOT / "README.md").read_text()))
    missing = config.parse_train([]).to_dict().keys() - named
    assert not missing, f"README.md, Options of train.py: add {sorted(missing)}"


def test_readme_names_no_option_that_is_not_there():
    known = set()
    for parse_options in (config.parse_train, config.parse_eval, config.parse_demo):
        known |= _options_of(parse_options)
    for path in sources("scripts"):
        known |= set(re.findall(r'"--([a-zA-Z]\w*)"', (ROOT / path).read_text()))
    readme = (ROOT / "README.md").read_text() + (ROOT / "DATASETs.md").read_text()
    named = set(re.findall(r"(?<![\w-])--([a-zA-Z]\w*)", readme)) - {"nproc_per_node", "train", "val", "test"}
    assert named <= known, sorted(named - known)


def _options_of(parse_options) -> set[str]:
    """Names of all options of an entry point, from its help."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        shown = io.StringIO()
        patch.setattr("sys.stdout", shown)
        parse_options(["--help"])
    return set(re.findall(r"--([a-zA-Z]\w*)", shown.getvalue()))
