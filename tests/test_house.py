"""The rules of the house: who may import whom, what entry points are, and what the README names."""

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import config
from scripts import options_page

ROOT = Path(__file__).resolve().parent.parent
DOMAIN = ("network", "datasets", "transforms", "loss", "optimizer")
ENTRY_POINTS = ("train", "eval", "demo_folder")
# the table of docs/design.md: a file imports its own room and lower floors; rooms of one floor don't know each other
FLOORS = {
    "utils": 0,
    **dict.fromkeys(DOMAIN, 1),
    "config": 2,
    "engine": 3,
    **dict.fromkeys((*ENTRY_POINTS, "reference"), 4),
    "scripts": 5,
    "tests": 6,
}
SUB_ROOMS = {  # of engine, with the lower ones that each may import
    "training": {"report", "evaluation", "inference", "checkpoint"},
    "report": {"evaluation", "inference", "checkpoint"},
    "evaluation": {"inference", "checkpoint"},
    "demo": {"inference", "checkpoint"},
    "export": {"inference", "checkpoint"},
    "inference": {"checkpoint"},
    "checkpoint": set(),
}
BUILDERS = {"build.py", "load.py", "memory.py"}  # of engine's files, those that may import config
MOST_LINES = {"train.py": 80, "eval.py": 150, "demo_folder.py": 100, "config.py": 450}
MOST_ARGUMENTS = 12
PROJECT = set(FLOORS)


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


def imported_modules(path: Path) -> set[str]:
    """Dotted names of the project's modules that a file imports, at its top or in a function."""
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PROJECT}


def may_import(path: Path, module: str) -> bool:
    """True if the table lets the file `path` import `module`."""
    own, other = path.parts[0].removesuffix(".py"), module.split(".")[0]
    if own == "config" and re.match(r"engine(\.\w+)*\.options\b", module):
        return True
    if own == other == "engine" and len(path.parts) > 2:
        sub_room, known = path.parts[1], module.split(".")[1]
        return known == sub_room or known in SUB_ROOMS[sub_room]
    if own == "engine" and other == "config":
        return path.name in BUILDERS
    if own == "scripts" and other in ENTRY_POINTS:
        return False
    return own == other or FLOORS[other] < FLOORS[own]


@pytest.mark.parametrize("path", PROJECT_FILES, ids=str)
def test_a_file_imports_its_own_room_and_lower_floors(path):
    assert not sorted(module for module in imported_modules(path) if not may_import(path, module))


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("network/fenet.py", "loss.ohem"),
        ("utils/files.py", "network"),
        ("engine/inference/predictor.py", "engine.evaluation.scoring"),
        ("engine/report/page.py", "engine.training.trainer"),
        ("engine/training/trainer.py", "config"),
        ("datasets/base.py", "config"),
        ("config.py", "engine.training.trainer"),
        ("engine/demo/run.py", "train"),
        ("scripts/doctor.py", "train"),
        ("reference/loss.py", "train"),
    ],
)
def test_the_table_refuses(path, module):
    assert not may_import(Path(path), module)


@pytest.mark.parametrize("path", MOST_LINES)
def test_entry_points_fit_on_a_screen(path):
    assert len((ROOT / path).read_text().splitlines()) <= MOST_LINES[path]


@pytest.mark.parametrize("path", PROJECT_FILES, ids=str)
def test_no_function_takes_a_list_of_keywords(path):
    if path.parts[0] == "network" or "triton" in path.parts:  # a model's own options; a kernel's pointers and strides
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([one for one in arguments if one.arg not in ("self", "cls")]) <= MOST_ARGUMENTS, node.name


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


def test_the_page_of_the_options_is_the_parsers():
    assert options_page.PAGE.read_text() == options_page.page()


# of torchrun, SLURM, trtexec and pip
FOREIGN = set(
    "nproc_per_node nnodes rdzv_backend rdzv_endpoint rdzv_id max_restarts standalone signals_to_handle"
    " partition nodes signal requeue onnx fp16 saveEngine minShapes optShapes maxShapes no-deps".split()
)


def test_the_docs_name_no_option_that_is_not_there():
    known = set(FOREIGN)
    for parse_options in (config.parse_train, config.parse_eval, config.parse_demo):
        known |= _options_of(parse_options)
    for path in sources("scripts", "tests"):
        known |= set(re.findall(r'"--([a-zA-Z][\w-]*)"', (ROOT / path).read_text()))
    known |= set(re.findall(r"^    (\w+): .*option\(", (ROOT / "engine/export/options.py").read_text(), re.M))
    for page in (ROOT / "README.md", ROOT / "DATASETs.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"(?<![\w-])--([a-zA-Z][\w-]*)", page.read_text()))
        unknown = {name for name in named - known if name.replace("-", "_").removeprefix("no_") not in known}
        assert not unknown, page.name


def _options_of(parse_options) -> set[str]:
    """Names of all options of an entry point, from its help."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        shown = io.StringIO()
        patch.setattr("sys.stdout", shown)
        parse_options(["--help"])
    return set(re.findall(r"--([a-zA-Z]\w*)", shown.getvalue()))
