"""The house keeps its shape: imports go downward, files and functions stay readable, every module says what it is."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ["marketdata", "accounts", "exchange", "config"]
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60
SOURCES = [
    path for room in FLOORS for path in sorted((ROOT / room).rglob("*.py")) if "migrations" not in path.parts
]
IDS = [str(path.relative_to(ROOT)) for path in SOURCES]


def imported_names(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_imports_go_downward(path):
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])
    above = set(FLOORS[floor + 1 :])
    upward = [name for name in imported_names(ast.parse(path.read_text())) if name.split(".")[0] in above]
    assert not upward


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_files_and_functions_fit(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f"{node.name} {_lines(node)}" for node in functions if _lines(node) > LONGEST_FUNCTION_LINES]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_every_module_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body or path.name == "apps.py"


@pytest.mark.parametrize("room", [*FLOORS, "exchange/streams"])
def test_the_map_of_a_room_names_each_of_its_files_once(room):
    text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
    named = sorted(name for line in text.split("\n\n")[-1].splitlines() for name in line.split(": ")[1].split())
    there = {path.stem for path in (ROOT / room).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    plain = {name for name in there if not re.search("^__|apps$|migrations$|models$|admin$", name)}
    assert named == sorted(plain)


@pytest.mark.parametrize("path", [path for path in SOURCES if "engine" in path.parts], ids=str)
def test_the_engine_is_pure(path):
    forbidden = {"django", "time", "datetime", "random", "os", "decimal", "asyncio", "threading"}
    names = imported_names(ast.parse(path.read_text()))
    assert not [name for name in names if name.split(".")[0] in forbidden]


def _lines(node) -> int:
    return node.end_lineno - node.lineno + 1
