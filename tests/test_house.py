"""The house rules that a machine can check: arrows run one way, files stay small, names say something."""

import ast
import inspect
from pathlib import Path

import pytest

import interact
from interact.formats.schema import TABLES

ROOT = Path(__file__).parent.parent
FILES = sorted(p for room in ("interact", "kernels", "bench") for p in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_are_small_and_import_downwards(path):
    assert len(path.read_text().splitlines()) <= 500
    assert path.stem not in ("utils", "helpers", "misc", "common")
    roots = {name.split(".")[0] for name in imported(path)}
    # Below the repository's root: the folder of a clone may have any name, and that of a room too.
    inside = path.relative_to(ROOT)
    room = inside.parts[0]
    if room == "kernels":
        assert not roots & {"interact", "transformers"}
    if room == "interact":
        assert not roots & {"triton", "bench", "tests"}


def test_files_of_tests_are_small():
    long = [str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("*.py") if len(p.read_text().splitlines()) > 500]
    assert not long


def test_no_circle_between_the_files_of_interact():
    graph = {}
    modules = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES if p.is_relative_to(ROOT / "interact")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    for name, path in modules.items():
        tree = ast.parse(path.read_text())
        # Imports for type checkers only draw no arrow.
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))]
        found = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        for n in ast.walk(tree):
            if isinstance(n, ast.ImportFrom) and n.module:
                inner = {f"{n.module}.{a.name}" for a in n.names} & set(modules)
                found |= inner or {n.module}
        graph[name] = found & set(modules) - {name, "interact"}

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        for below in graph[name]:
            walk(below, (*above, name))

    for name in graph:
        walk(name, ())


# Rooms and loose modules of interact/, from the lowest layer to the highest; a file imports from its own room and from
# layers below.
LAYERS = (
    ("formats",),
    ("models", "indices", "evolution"),
    ("prompt",),
    ("results",),
    ("sparse",),
    ("engines",),
    ("games",),
    ("sft",),
    ("study",),
    ("command",),
    ("__main__",),
)


def test_imports_between_the_rooms_run_one_way():
    layer = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    here = {p.stem for p in (ROOT / "interact").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert here - {"__init__"} == set(layer)
    # A newcomer sees the whole house at once.
    assert len(here - {"__init__", "__main__"}) <= 12
    for path in (ROOT / "interact").rglob("*.py"):
        room = path.relative_to(ROOT / "interact").parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("interact."):
                other = node.module.split(".")[1]
                allowed = room == "__init__" or other == room or layer[other] < layer[room]
                assert allowed, f"{path.relative_to(ROOT)} imports {node.module}"


def test_functions_are_short():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if any("triton.jit" in ast.unparse(decorator) for decorator in node.decorator_list):
                # A Triton kernel cannot be cut: what it calls is inlined anyway, with all arguments by hand.
                continue
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node):
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            assert lines <= 60, f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"


def test_no_public_door_takes_a_bag_of_anything():
    doors = [getattr(interact, name) for name in interact.__all__]
    doors = [door for door in doors if inspect.isfunction(door)]
    assert len(doors) > 8
    for door in doors:
        for name, parameter in inspect.signature(door).parameters.items():
            kind = str(parameter.annotation)
            assert "[str, Any]" not in kind and parameter.kind is not parameter.VAR_KEYWORD, f"{door.__name__}: {name}"


def test_the_columns_of_a_table_are_stated_in_one_place():
    known = [{column.name for column in table.columns} for table in TABLES.values()]
    for path in (ROOT / "interact").rglob("*.py"):
        if path.is_relative_to(ROOT / "interact" / "formats" / "schema"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
                said = {n.value for n in node.elts if isinstance(n, ast.Constant) and isinstance(n.value, str)}
                whole = [columns for columns in known if len(columns) > 3 and said >= columns]
                assert not whole, f"{path.relative_to(ROOT)}:{node.lineno} states the columns of a table again"
